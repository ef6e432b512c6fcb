# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke: {}
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,d2l,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 14.2 Fine-tuning
#
# TODO: the question, in two or three sentences.
#
# **You will**
#
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
#
# **Cost**: TODO: time and memory on a CPU, downloads, use of a GPU.

# %%
import copy

import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import fit_logits

d2l.use_style()

# %% tags=["export"]
def last_linear(net):
    """Name of the last linear layer of `net`: its head, as a rule."""
    names = [name for name, module in net.named_modules()
             if isinstance(module, nn.Linear)]
    if not names:
        raise ValueError(f"{type(net).__name__} has no linear layer to be "
                         "its head.")
    return names[-1]


def replace_head(net, num_classes):
    """Put a new linear layer of `num_classes` scores in place of the last.

    It starts at PyTorch's default, on the device and with the type of the
    old one. Changes `net` and returns it.
    """
    name = last_linear(net)
    old = net.get_submodule(name)
    net.set_submodule(name, nn.Linear(
        old.in_features, num_classes, bias=old.bias is not None,
        device=old.weight.device, dtype=old.weight.dtype))
    return net

# %% tags=["export"]
def param_groups(net, base_lr, head_mult=10):
    """Groups for an optimizer: body at `base_lr`, head at a multiple.

    Each parameter that is trainable stands in exactly one group; a group
    without any is left out. The head is the last linear layer.
    """
    head = {id(p) for p in net.get_submodule(last_linear(net)).parameters()}
    free = [p for p in net.parameters() if p.requires_grad]
    groups = [{"params": [p for p in free if id(p) not in head],
               "lr": base_lr},
              {"params": [p for p in free if id(p) in head],
               "lr": base_lr * head_mult}]
    return [group for group in groups if group["params"]]


def set_trainable(net, predicate):
    """Each parameter learns if `predicate(name)`, else not; returns `net`."""
    for name, p in net.named_parameters():
        p.requires_grad_(bool(predicate(name)))
    return net

# %% tags=["export"]
def freeze_bn(net):
    """Put the batch normalizations of `net` into evaluation mode.

    They then use their running statistics and leave them alone, until the
    next `net.train()`. Their factors and shifts stay as trainable as they
    were. Returns `net`.
    """
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return net

# %% tags=["export"]
def linear_probe(features, labels, num_classes=None, ridge=1e-3):
    """A linear layer fitted on features (n, d) with labels (n,).

    The fit is a softmax regression on features that are standardized and
    divided by the square root of d, with the penalty `ridge` times the
    sum of squared weights. The returned layer takes them as they are.
    """
    num_classes = num_classes or int(labels.max()) + 1
    mean = features.mean(0)
    scale = (features.std(0) + 1e-6) * features.shape[1] ** 0.5
    W, b = fit_logits((features - mean) / scale, labels, num_classes,
                      ridge=ridge, steps=30)  # (d, q), (q,)
    layer = nn.Linear(*W.shape, device=W.device, dtype=W.dtype)
    with torch.no_grad():
        layer.weight.copy_((W / scale[:, None]).mT)
        layer.bias.copy_(b - (mean / scale) @ W)
    return layer

# %% tags=["export"]
class LoRALinear(nn.Module):
    """A frozen linear layer plus alpha / r times B A, of rank r.

    `linear` is an `nn.Linear` or a 1x1 convolution with stride 1 and one
    group, which is a linear layer at each pixel. B starts at zero, A at
    random with variance 1 / inputs. `alpha` is r if not given.
    """

    def __init__(self, linear, r=4, alpha=None):
        super().__init__()
        weight = linear.weight
        outputs, inputs = weight.shape[:2]
        if weight[0, 0].numel() > 1 or weight.ndim > 2 and (
                linear.groups > 1 or set(linear.stride) != {1}):
            raise ValueError(f"{linear} is no linear layer at each pixel.")
        self.linear = linear.requires_grad_(False)
        self.A = nn.Parameter(weight.new_empty(r, inputs).normal_(
            std=inputs ** -0.5))
        self.B = nn.Parameter(weight.new_zeros(outputs, r))
        self.scale = 1.0 if alpha is None else alpha / r

    def forward(self, X):
        if self.linear.weight.ndim == 2:
            return self.linear(X) + self.scale * (X @ self.A.mT) @ self.B.mT
        A, B = self.A[..., None, None], self.B[..., None, None]
        return self.linear(X) + self.scale * F.conv2d(F.conv2d(X, A), B)

    def merged(self):
        """A layer of the kind of `linear` with the weight W + scale B A."""
        layer = copy.deepcopy(self.linear)
        with torch.no_grad():
            layer.weight += (self.scale * self.B @ self.A).view_as(
                layer.weight)
        return layer

# %% tags=["export"]
def add_lora(net, predicate, r=4, alpha=None):
    """`LoRALinear` around each layer for which `predicate(name, layer)`.

    Nothing else is frozen or freed. Changes `net` and returns it.
    """
    chosen = [(name, layer) for name, layer in net.named_modules()
              if predicate(name, layer)]
    for name, layer in chosen:
        net.set_submodule(name, LoRALinear(layer, r, alpha))
    return net


def merge_lora(net):
    """Put the merged layer in place of each `LoRALinear`; returns `net`."""
    chosen = [(name, layer) for name, layer in net.named_modules()
              if isinstance(layer, LoRALinear)]
    for name, layer in chosen:
        net.set_submodule(name, layer.merged())
    return net

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %%
# check 14.2-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.2-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.2-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.2-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.2-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.2-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.2-C7: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.2-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.2-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.2-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.2-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.2-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.2-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.2-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.2-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
