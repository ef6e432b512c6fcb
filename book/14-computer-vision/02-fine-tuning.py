# ---
# jupyter:
#   d2l:
#     data: [cats-dogs, efficientnet-lite0]
#     profiles:
#       gpu:
#         num_photos: 350
#         level: 0
#         updates: 64
#         scratch_updates: 640
#         tune: true
#       smoke:
#         num_photos: 28
#         shots: [2, 4]
#         main_shots: 4
#         updates: 2
#         scratch_updates: 2
#         num_seeds: 1
#     rehearsal:
#       num_photos: 0.12
#       updates: 0.05
#       scratch_updates: 0.01
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
# Few tasks come with a million labelled pictures.
# So a network for a new task often starts from weights that somebody else has trained on something else.
# Which of these weights should be kept, which trained, at what rate, and how do you find out whether they helped?
#
# **You will**
#
# - give a pretrained network a new head, and train its parts at different rates, or not at all;
# - see why `requires_grad=False` does not freeze batch normalization, and mend it;
# - adapt 1x1 convolutions with LoRA, and merge the adapters;
# - compare a linear probe, fine-tuning, LoRA and training from scratch with few labels.
#
# **Cost**: less than a minute on a CPU; much longer in the profile `gpu`, which trains all but the stem and the first block, with more updates; a download of 34 MB, once.

# %%
import copy
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights, resnet18

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.computer_vision import (
    evaluate, evaluating, train_ch14)
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, init_he)
from d2l_helpers.chapters.linear_classification import fit_logits
from d2l_helpers.chapters.modern_cnns import ResNet
from d2l_helpers.pictures import read_images
from d2l_helpers.pretrained import efficientnet_lite0

d2l.use_style()

# %% tags=["parameters"]
num_photos = 350  # of each kind
level = 3  # blocks up to this level stay frozen in all arms: 0 to 3
shots = [5, 10, 20, 40, 80]  # labels of each kind
main_shots = 20  # networks are trained with so many, and with the most
updates = 8
scratch_updates = 24
num_seeds = 3
tune = False  # True: choose the rates anew

# %% [markdown]
# ## Four steps
#
# ![Three stages. First a body and a head of 1000 classes learn from 1.28 million pictures. Then the body is copied, and a new head of two classes is put on it. Last both are trained on 40 pictures.](img/fine-tuning-steps.svg)
#
# **Figure 14.2.1.** Fine-tuning: pretrain a network on a *source*, copy all but its output layer, put a new output layer on it, train on the *target*.
# The layers that are kept are called the *body*, the new one the *head*.
#
# The usual source is the training set of ILSVRC, 1.28 million photographs of 1000 classes, loosely called ImageNet; all of ImageNet has 14 million in some 21 000 classes (Russakovsky and others, 2015).
# Our body is EfficientNet-Lite0, which [Section 8.9](../08-modern-cnns/09-comparison.ipynb) used frozen; it was trained on these 1000 classes.
# The target is a small part of a competition, cats against dogs: 300 photographs from which we draw few to learn from, 200 for choosing rates (validation), 200 for the test.

# %%
found = d2l.fetch("cats-dogs")
paths, kinds = [], []
for label, kind in enumerate(("cat", "dog")):
    mine = [path for name, path in found.files.items()
            if f"/{kind}/" in name][:num_photos]
    paths, kinds = paths + mine, kinds + [label] * len(mine)
n = len(kinds)
mixed = torch.randperm(n, generator=torch.Generator().manual_seed(0))
pool, for_val, rest = mixed.split([n * 3 // 7, n * 2 // 7, n - n * 5 // 7])
used = torch.cat([pool, rest])
photos = read_images([paths[i] for i in used], (96, 96))  # (n, 3, 96, 96)
y = torch.tensor(kinds)[used]
pool, test = slice(len(pool)), slice(len(pool), None)
d2l.show_images(photos[pool][:5], 1, 5, scale=0.9,
                titles=[("cat", "dog")[k] for k in y[:5]])
d2l.describe(plt.gcf(), """Five photographs of cats and dogs in a row, each
    with its label above it.""")

# %% [markdown]
# **Figure 14.2.2.** Five of the photographs, at 96 by 96 pixels.
#
# The new head has as many outputs as the target has classes and starts at random.
# In most networks it is the last linear layer.

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

# %%
# check 14.2-C1: ResNet-18 with 1000 and with 2 classes
with torch.device("meta"):
    resnet = resnet18()
assert count_params(resnet) == 11_689_512
assert resnet.fc.in_features == 512 and last_linear(resnet) == "fc"
resnet = replace_head(resnet, 2)
assert count_params(resnet) == 11_177_538 and resnet.fc.out_features == 2
assert resnet.fc.weight.device.type == "meta"
small = replace_head(nn.Sequential(nn.Linear(3, 4, bias=False)).double(), 2)
assert small[0].bias is None and small[0].weight.dtype == torch.float64
assert small[0].weight.shape == (2, 3)
assert last_linear(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))) == "1"
try:
    last_linear(nn.Conv2d(3, 4, 1))
    raise AssertionError("a head was found where there is none")
except ValueError:
    pass

# %% [markdown]
# Weights come with their preprocessing, and no error is raised when it is missing.
# torchvision keeps both in one object: `resnet18(weights=ResNet18_Weights.DEFAULT)` downloads the network, `ResNet18_Weights.DEFAULT.transforms()` is what its pictures must go through.
# Our network wants $(x-127/255)/(128/255)$ for colours $x$ from 0 to 1 and does it inside.
# The next cell gives it pictures that already were standardized, a common mistake.

# %%
steps = ResNet18_Weights.DEFAULT.transforms()
print(steps)
net = efficientnet_lite0()
twice = (photos[:16] / 255 - torch.tensor(steps.mean)[:, None, None]
         ) / torch.tensor(steps.std)[:, None, None]
with evaluating(net):
    right, wrong = net.embed(photos[:16]), net.embed(twice)
moved = (wrong - right).norm(dim=1).mean() / torch.pdist(right).mean()
print(f"the mistake moves the features {moved:.1f} times as far as two "
      "pictures are apart")

# %%
# check 14.2-C2: a copied body with a new head gives the same features
real = found.is_real and d2l.fetch("efficientnet-lite0").is_real
copied = replace_head(copy.deepcopy(net), 2)
with evaluating(copied):
    assert torch.equal(copied.embed(photos[:16]), right)
    assert copied(photos[:4]).shape == (4, 2)
assert net(photos[:2]).shape == (2, 1000)  # the original has its head
assert moved > 0.5 or not real

# %% [markdown]
# ## Train nothing but the head
#
# The cheapest transfer is the linear probe of Section 8.9: the body stays as it is, so each picture passes through it once, and the head is a softmax regression on its features.
# Donahue and others (2013) were among the first to put linear classifiers on the features of a network trained on ImageNet; Razavian and others (2014) showed how far this carries, from birds to image retrieval.
# We export it in a form that can be put back into the network: an `nn.Linear`, into which the standardization of the features is folded.

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

# %%
# the folded layer gives the scores of the regression it was folded from
rng = torch.Generator().manual_seed(0)
Z, t = 3 + 2 * torch.randn(60, 5, generator=rng), torch.arange(60) % 3
Z = Z + 2 * t[:, None] * torch.tensor([1.0, 0, -1, 0, 2])
layer = linear_probe(Z, t)
A = (Z - Z.mean(0)) / Z.std(0) / 5**0.5
W, b = fit_logits(A, t, 3, ridge=1e-3, steps=30)
torch.testing.assert_close(layer(Z), A @ W + b, rtol=1e-3, atol=1e-3)
assert (layer(Z).argmax(1) == t).float().mean() > 0.7
assert layer.out_features == 3 and linear_probe(Z, t, 4).out_features == 4

# %% [markdown]
# The same trick saves work when only the upper part of a body is to be trained: what lies below is frozen, its output is computed once.
# Low layers see large maps but have few weights, so this saves more operations than it takes parameters out of training.
# Our networks keep the first 11 of 16 blocks frozen, up to the last map at stride 16.

# %%
class Upper(nn.Module):
    """The blocks of an EfficientNet-Lite0 from `start` on, and its head."""

    def __init__(self, net, start):
        super().__init__()
        self.blocks = nn.Sequential(*net._blocks[start:])
        self.conv, self.norm = net._conv_head, net._bn1
        self.fc = net._fc

    def pool(self, top):
        return F.relu6(self.norm(self.conv(top))).mean((2, 3))  # (n, 1280)

    def embed(self, maps):
        return self.pool(self.blocks(maps))

    def forward(self, maps):
        return self.fc(self.embed(maps))


device = d2l.try_device()
net = net.to(device, memory_format=torch.channels_last)
strided = [i for i, block in enumerate(net._blocks) if block.stride == 2]
upper = Upper(net, strided[level])  # the level ends where the next begins
with evaluating(net):
    levels = [net.features(part.to(device)) for part in photos.split(50)]
    maps = torch.cat([each[level] for each in levels])
    features = torch.cat([upper.pool(each[-1]) for each in levels])
y = y.to(device)

# %% tags=["hide-input"]
def share(counts):
    """Share of the upper part in a dict of counts by name, head left out."""
    kept = {f"_blocks.{i}." for i in range(strided[level], 16)}
    kept |= {"_conv_head", "_bn1"}
    body = {k: v for k, v in counts.items() if not k.startswith("_fc")}
    return sum(v for k, v in body.items()
               if k.startswith(tuple(kept))) / sum(body.values())


with evaluating(net):
    torch.testing.assert_close(net.embed(photos[:8].to(device)), features[:8],
                               rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(net(photos[:8].to(device)), upper(maps[:8]),
                               rtol=1e-3, atol=1e-4)
weights = share({k: p.numel() for k, p in net.named_parameters()})
work = share(count_macs(net, (1, 3, 96, 96)))
print(f"the upper part has {weights:.0%} of the body's parameters and "
      f"{work:.0%} of its multiply-accumulates")
assert level != 3 or (0.7 < weights < 0.9 and work < 0.6)

# %% [markdown]
# ## Rates, groups and what is frozen
#
# When the body learns too, its weights are near a good place and the head's are anywhere.
# So the head gets a larger rate, ten times the body's by habit: *parameter groups* of one optimizer.
# (*Layer-wise decay* continues the idea downwards: each layer gets a fixed fraction of the rate of the layer above it, as in Howard and Ruder, 2018; Exercise 5.)
# What is not to be trained at all gets no gradient.

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

# %%
# check 14.2-C3: ten times the rate; each parameter in exactly one group
body, head = param_groups(upper, 1e-3)
assert math.isclose(head["lr"], 10 * body["lr"]) and body["lr"] == 1e-3
assert {id(p) for p in head["params"]} == {
    id(p) for p in upper.fc.parameters()}
listed = [id(p) for p in body["params"] + head["params"]]
assert sorted(listed) == sorted(id(p) for p in upper.parameters())
probed = set_trainable(copy.deepcopy(upper),
                       lambda name: name.startswith("fc."))
assert [name for name, p in probed.named_parameters() if p.requires_grad
        ] == ["fc.weight", "fc.bias"]
assert len(param_groups(probed, 1e-3)) == 1
assert param_groups(probed, 1e-3)[0]["lr"] == 1e-2

# %% [markdown]
# Is a body without gradients frozen?
# Not if it has batch normalization.
# The running mean and variance are buffers, not parameters; they move in each forward pass in training mode, whatever `requires_grad` says ([Section 8.5](../08-modern-cnns/05-batch-norm.ipynb)).
# `eval()` stops them, and the `net.train()` with which a training loop opens its next epoch undoes that.
# So the freezing must run after each `train()`; the argument `set_mode` of our loop ([Section 14.1](01-augmentation.ipynb)) is made for it.

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


def train_frozen_bn(net):
    """Training mode for all but batch normalization: a `set_mode`."""
    return freeze_bn(net.train())

# %%
# check 14.2-C4: requires_grad=False alone lets the statistics move
def drift_of_statistics(set_mode):
    """Largest change of a running mean in one pass of a frozen network.

    In units of the running standard deviation of its channel.
    """
    net = copy.deepcopy(upper).requires_grad_(False)
    norm = net.blocks[0]._bn0
    before = norm.running_mean.clone()
    unit = (norm.running_var + norm.eps).sqrt()
    set_mode(net)
    net(maps[:20])
    assert net.training and not norm.weight.requires_grad
    return ((norm.running_mean - before).abs() / unit).max().item()


print(f"in training mode {drift_of_statistics(nn.Module.train):.2f}, with "
      f"freeze_bn {drift_of_statistics(train_frozen_bn):.2f}")
assert drift_of_statistics(nn.Module.train) > 0.01
assert drift_of_statistics(train_frozen_bn) == 0
undone = freeze_bn(copy.deepcopy(upper)).train()  # the next train() ...
assert undone.norm.training and not freeze_bn(undone).norm.training

# %%
# all but batch normalization is in training mode afterwards
awake = train_frozen_bn(copy.deepcopy(upper).eval())
assert awake.training and awake.blocks[0].training
assert not awake.norm.training and not awake.blocks[0]._bn0.training

# %% [markdown]
# ## LoRA for a convolutional network
#
# Between all weights and none of them lies LoRA, which [Section 11.10](../11-attention-and-transformers/10-small-gpt.ipynb) used on a language model.
# It keeps a matrix $\mathbf{W}\in\mathbb{R}^{m\times d}$ and learns a correction of low rank,
#
# $$\mathbf{W}'=\mathbf{W}+\frac{\alpha}{r}\mathbf{B}\mathbf{A},\qquad\mathbf{A}\in\mathbb{R}^{r\times d},\quad\mathbf{B}\in\mathbb{R}^{m\times r}, \tag{14.2.1}$$
#
# with the rank $r$, a constant $\alpha$, $\mathbf{A}$ random and $\mathbf{B}=\mathbf{0}$ in the beginning, so training starts at the pretrained network.
# The factor $\alpha/r$ is there to spare a new search for the rate when $r$ changes (Hu and others, 2021); Kalajdzievski (2023) finds that it slows learning at high rank and argues for $\alpha/\sqrt r$.
# The number of trained weights falls from $md$ to $r(m+d)$: for a layer from 512 to 512 and $r=4$ from 262 144 to 4096.
#
# Where are the matrices in a convolutional network?
# In the body of EfficientNet-Lite0, over nine tenths of the weights sit in 1x1 convolutions, which are linear layers applied at each pixel ([Section 7.4](../07-convolutional-neural-networks/04-channels.ipynb)).
# These we adapt.
# The thin depthwise convolutions have no large matrix to be approximated.

# %% tags=["export"]
class LoRALinear(nn.Module):
    """A frozen linear layer plus alpha / r times B A, of rank r.

    `linear` is an `nn.Linear` or a 1x1 `nn.Conv2d` without stride, groups
    and padding, which is a linear layer at each pixel. B starts at zero, A
    at random with variance 1 / inputs. `alpha` is r if not given.
    """

    def __init__(self, linear, r=4, alpha=None):
        super().__init__()
        if not isinstance(linear, nn.Linear) and not (
                isinstance(linear, nn.Conv2d) and linear.groups == 1
                and linear.kernel_size == linear.stride == (1, 1)
                and linear.padding in ((0, 0), "same", "valid")):
            raise ValueError(f"{linear} is no linear layer at each pixel.")
        weight = linear.weight
        outputs, inputs = weight.shape[:2]
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

    Freezes these layers and nothing else. Changes `net` and returns it.
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

# %%
# check 14.2-C5: B = 0 changes nothing; merged equals adapter; the count
torch.manual_seed(0)
dense, wide = nn.Linear(512, 512), nn.Conv2d(6, 8, 1)
for base, X in ((dense, torch.randn(3, 512)), (wide, torch.randn(2, 6, 5, 4))):
    lora = LoRALinear(base, r=4, alpha=8)
    assert torch.equal(lora(X), base(X)) and lora.A.abs().max() > 0
    nn.init.normal_(lora.B, std=0.1)
    torch.testing.assert_close(lora.merged()(X), lora(X), rtol=0, atol=1e-5)
    torch.testing.assert_close(  # the scale is alpha / r = 2
        lora.merged().weight.flatten(1) - base.weight.flatten(1),
        2 * lora.B @ lora.A, rtol=0, atol=1e-6)
    assert (lora(X) - base(X)).abs().max() > 0.1
    assert {name for name, p in lora.named_parameters() if p.requires_grad
            } == {"A", "B"}
assert count_params(LoRALinear(dense, 4), trainable=True) == 4096
assert dense.weight.numel() == 262_144
assert abs(LoRALinear(dense, 4).A.std() * 512**0.5 - 1) < 0.1
for wrong in (nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, groups=2),
              nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, padding=1),
              nn.Embedding(4, 4)):
    try:
        LoRALinear(wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError:
        pass

# %% [markdown]
# ## What helps, and with how many labels?
#
# Four arms learn from the same labelled photographs, drawn three times.
#
# - **Probe**: a softmax regression on the features, solved by L-BFGS. It costs so little that we take from 5 to 80 labels of each kind.
# - **Fine-tuning**, with 20 and 80: all weights of the upper part, head ten times faster.
# - **LoRA**, with 20 and 80: rank 4 on the 1x1 convolutions of the upper part, and the head.
# - **Scratch**, with 20 and 80: a small residual network on the pixels (48 by 48, as in Section 8.9), in 24 updates, which are twelve passes with 20 labels of each kind and three with 80.
#
# Fine-tuning and LoRA get frozen statistics and the same 8 batches; with 80 labels of each kind both get 24, which is three passes.
#
# For each arm but the probe, three rates were compared on the validation photographs, with 20 labels of each kind in draws that do not come up again (set `tune` to repeat it).
# LoRA was best at the middle one.
# For fine-tuning, 3e-4 was ahead of 1e-4 by one or two photographs of 200 in each draw; the means differ by less than a hundredth, which is less than their standard error, and we call it a tie.
# We take the smaller rate and come back to the other.
# From scratch all three were near guessing, and we keep that of Section 8.9.

# %%
RATES = {"fine-tuning": (1e-4, 10), "LoRA": (3e-3, 1)}  # body's, multiple


def draw(k, seed):
    """Positions of k photographs of each kind from the pool."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y[pool]), generator=rng).to(device)
    return torch.cat([order[y[order] == kind][:k] for kind in (0, 1)])


def pointwise(name, layer):
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)


def start(arm, seed):
    """A copy of the upper part with a new head, made ready for an arm."""
    torch.manual_seed(seed)
    net = replace_head(copy.deepcopy(upper), 2)
    if arm == "LoRA":
        add_lora(net, pointwise)
        set_trainable(net, lambda name: name.startswith("fc.")
                      or name.endswith((".A", ".B")))
    return net

# %%
def fit(net, X, chosen, groups, num_updates, seed,
        set_mode=train_frozen_bn):
    """Train on the chosen rows of X, in batches of 20 at most."""
    optimizer = torch.optim.AdamW(groups, fused=True)
    size = min(20, len(chosen))
    return train_ch14(net, (X[chosen], y[chosen]), None, F.cross_entropy,
                      optimizer, max(1, num_updates * size // len(chosen)),
                      device, size, set_mode=set_mode, seed=seed)


def transfer(arm, chosen, seed, rate=None, **options):
    """Fine-tune, or train adapters; returns the network."""
    net = start(arm, seed)
    base, multiple = RATES[arm]
    groups = param_groups(net, rate or base, multiple)
    fit(net, maps, chosen, groups, max(updates, 3 * len(chosen) // 20),
        seed, **options)
    return net


def on_test(net, X=maps):
    """Accuracy on the test photographs."""
    return evaluate(net, (X[test], y[test]), batch_size=50)


pixels = F.avg_pool2d(photos.to(device) / 255, 2)


def from_scratch(chosen, seed, rate=5e-3):
    """A residual network of 8 layers at a quarter of its width."""
    torch.manual_seed(seed)
    net = ResNet(((1, 64), (1, 128), (1, 256)), width=0.25, num_classes=2)
    net = apply_init(net.to(device), pixels[:1], init_he)
    fit(net, pixels, chosen, param_groups(net, rate, 1), scratch_updates,
        seed, nn.Module.train)
    return net

# %% tags=["hide-input"]
# the choice of the rates on the validation photographs
if tune:
    unseen = read_images([paths[i] for i in for_val], (96, 96))
    with evaluating(efficientnet_lite0().to(device)) as source:
        unseen_maps = torch.cat([source.features(part.to(device))[level]
                                 for part in unseen.split(50)])
    unseen = F.avg_pool2d(unseen.to(device) / 255, 2)
    labels = torch.tensor(kinds)[for_val].to(device)
    for arm, rates in (("fine-tuning", (1e-4, 3e-4, 1e-3)),
                       ("LoRA", (1e-3, 3e-3, 1e-2)),
                       ("scratch", (1.5e-3, 5e-3, 1.5e-2))):
        for rate in rates:
            scores = []
            for s in (10, 11, 12):
                new = draw(main_shots, s)
                scores.append(
                    evaluate(from_scratch(new, s, rate), (unseen, labels))
                    if arm == "scratch" else
                    evaluate(transfer(arm, new, s, rate),
                             (unseen_maps, labels)))
            print(arm, rate, " ".join(f"{a:.3f}" for a in scores))

# %%
def transfer_experiment(shots):
    """{arm: {labels of each kind: test accuracies, one for each draw}}.

    And the networks of the first draw of `main_shots`.
    """
    table = {"probe": {}, "fine-tuning": {}, "LoRA": {}, "scratch": {}}
    for k in shots:
        for seed in range(num_seeds):
            chosen = draw(k, seed)
            nets = {"probe": linear_probe(features[chosen], y[chosen])}
            if k in (main_shots, shots[-1]):
                nets["fine-tuning"] = transfer("fine-tuning", chosen, seed)
                nets["LoRA"] = transfer("LoRA", chosen, seed)
                nets["scratch"] = from_scratch(chosen, seed)
            for arm, net in nets.items():
                X = {"scratch": pixels, "probe": features}.get(arm, maps)
                table[arm].setdefault(k, []).append(on_test(net, X))
            if k == main_shots and seed == 0:
                kept = nets
    return table, kept


table, kept = transfer_experiment(shots)
for arm, row in table.items():
    print(f"{arm:12s}", "; ".join(
        f"{k}: " + " ".join(f"{a:.3f}" for a in scores)
        for k, scores in row.items()))

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 3.4))
styles = {"probe": ("C0", "o"), "fine-tuning": ("C1", "s"),
          "LoRA": ("C2", "D"), "scratch": ("C3", "v")}
for i, (arm, row) in enumerate(table.items()):
    color, marker = styles[arm]
    at = [k * 1.05 ** (i - 1.5) for k in row]
    ax.plot(at, [sum(a) / len(a) for a in row.values()], color=color, lw=1)
    for x, scores in zip(at, row.values(), strict=True):
        ax.plot([x] * len(scores), scores, marker, color=color, ms=4,
                alpha=0.8, label=arm if x == at[0] else None)
ax.axhline(0.5, color="#888888", lw=0.8)
ax.set(xscale="log", xlabel="labels of each kind", ylabel="test accuracy",
       ylim=(0.4, 1))
ax.minorticks_off()
ax.set_xticks(shots, labels=shots)
ax.legend(fontsize=8, loc="center right")
d2l.describe(ax, """Test accuracy against labels of each kind. The probe
    rises from between 0.6 and 0.9 with five labels to above 0.9 with eighty;
    fine-tuning and LoRA, with twenty and eighty labels, lie beside it. From
    scratch all points lie between 0.5 and 0.65.""")

# %% [markdown]
# **Figure 14.2.3.** Test accuracy of three draws for each number of labels (the markers of the four arms are set a little apart); lines join the means, the gray line is guessing.

# %%
# check 14.2-C6: each transfer beats scratch in every draw
full_run = (num_seeds == 3 and updates == 8 and level == 3
            and num_photos == 350 and shots == [5, 10, 20, 40, 80])
if full_run and real:
    mean = {arm: {k: sum(row[k]) / 3 for k in row}
            for arm, row in table.items()}
    assert max(mean["scratch"].values()) < 0.68
    for arm in ("probe", "fine-tuning", "LoRA"):
        for k in table[arm].keys() & {20, 80}:
            assert all(a > b + 0.1 for a, b in zip(
                table[arm][k], table["scratch"][k], strict=True))
    trio = [[mean[arm][k] for arm in ("probe", "fine-tuning", "LoRA")]
            for k in (20, 80)]
    assert min(trio[0]) > 0.78 and max(trio[0]) - min(trio[0]) < 0.045
    assert min(trio[1]) > 0.87 and max(trio[1]) - min(trio[1]) < 0.03
    five = table["probe"][5]
    assert max(five) - min(five) > 0.15 and mean["probe"][5] < 0.82

# %% tags=["hide-input"]
# check: draws come from the pool, k of each kind, another for each seed;
# scratch and the adapters learn what they should and nothing else
drawn = [draw(main_shots, seed) for seed in (0, 1)]
assert max(d.max() for d in drawn) < pool.stop
assert torch.bincount(y[drawn[0]]).tolist() == [main_shots] * 2 or not full_run
assert not torch.equal(*drawn) and torch.equal(drawn[0], draw(main_shots, 0))
if device.type == "cpu":  # the same draw and seed, the same network
    for a, b in zip(from_scratch(drawn[0], 0).parameters(),
                    kept["scratch"].parameters(), strict=True):
        assert torch.equal(a, b)
adapted, tuned = kept["LoRA"], kept["fine-tuning"]
plain = dict(upper.named_parameters())
for name, p in adapted.named_parameters():
    name = name.replace(".linear.", ".")
    learns = name.startswith("fc.") or name.endswith((".A", ".B"))
    assert p.requires_grad == learns
    assert not name.endswith(".B") or p.abs().max() > 0
    if name in plain and not name.startswith("fc."):
        assert torch.equal(p, plain[name])
for (name, a), b in zip(upper.named_buffers(), tuned.buffers(), strict=True):
    assert torch.equal(a, b), name  # the statistics are frozen
assert not torch.equal(upper.conv.weight, tuned.conv.weight)
few = count_params(adapted, trainable=True) / count_params(tuned)
print(f"LoRA trains {few:.1%} of the weights that fine-tuning trains")
seen = evaluate(kept["scratch"], (pixels[drawn[0]], y[drawn[0]]))
print(f"scratch on the photographs it was trained on: {seen:.2f}")
assert 0.01 < few < 0.03 and (seen > 0.9 or not full_run)
with evaluating(adapted), evaluating(
        merge_lora(copy.deepcopy(adapted))) as merged:
    torch.testing.assert_close(merged(maps[:8]), adapted(maps[:8]),
                               rtol=1e-3, atol=1e-4)
    assert count_params(merged) == count_params(tuned)

# %% [markdown]
# Each transfer beats training from scratch in every draw by more than a tenth.
# In the first draw of 20 labels the scratch network fits its photographs, and it does little better than guessing on others; with 80 labels its 24 updates are only three passes, as many as fine-tuning gets.
# What augmentation and a longer run would make of it was not measured.
#
# Among the transfers themselves there is no winner.
# An accuracy near 0.85 on 200 photographs has a standard error of about 0.025, and with 20 labels the three means are about that close, with 80 closer.
# With five labels of each kind it matters far more which five: the probe's best and worst draws are more than 0.15 apart.
# A shorter run would have named a winner: stopped after one pass over the 160 photographs of the first draw, fine-tuning is far behind (Exercise 1).
# So compare fine-tuning with the probe, which takes a fraction of a second, and train long enough before you do.
# LoRA trains about a fiftieth of the weights that fine-tuning trains, and only these have to be stored for a task; its gradients still pass through the whole upper part.
#
# The case is friendly: ImageNet has over a hundred breeds of dogs.
# And with many labels the lead of pretraining can vanish: on COCO, with enough updates, He and others (2018) detected objects from random weights as well as from pretrained ones, with over a hundred thousand labelled pictures and even with a tenth of them.
#
# ### The frozen statistics
#
# What if batch normalization stays in training mode, as it would with a plain `net.train()`?
# The same draws, batches and rate as before, and only `set_mode` differs.
# The running statistics have had just 8 batches in which to follow the weights; to see whether they are to blame, we also measure them anew on 100 photographs of the pool, without labels, before the test.

# %%
def measure_statistics(net, maps):
    """Running statistics of a copy of `net`, anew from `maps`."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    with torch.no_grad():
        for part in maps.split(50):
            net.train()(part)
    return net


moving, measured = [], []
for seed in range(num_seeds):
    net = transfer("fine-tuning", draw(main_shots, seed), seed,
                   set_mode=nn.Module.train)
    moving.append(on_test(net))
    measured.append(on_test(measure_statistics(net, maps[pool][:100])))
for name, scores in (("frozen", table["fine-tuning"][main_shots]),
                     ("training mode", moving),
                     ("statistics anew", measured)):
    print(f"{name:16s}", " ".join(f"{a:.3f}" for a in scores))

# %%
# check 14.2-C7: batch norm in training mode is worse in every draw
if full_run and real:
    frozen = table["fine-tuning"][20]
    for others in (moving, measured):
        assert all(a > b + 0.03 for a, b in zip(frozen, others, strict=True))
        assert sum(frozen) / 3 > sum(others) / 3 + 0.07

# %% [markdown]
# At this rate, each draw is worse in training mode than with frozen statistics, and measuring the statistics anew does not repair it.
# So stale running statistics are not the whole story; which part of the damage the noise of small batches does, or the changed weights, we did not separate.
#
# ### How far do the features move?
#
# The next figure compares the maps of the adapted networks of the first draw with those of the pretrained one, block by block, on test photographs.

# %%
def outputs(net, X):
    """Output of each block of an `Upper`, and its features."""
    with evaluating(net):
        rows = []
        for block in net.blocks:
            X = block(X)
            rows.append(X.flatten(1))
        return [*rows, net.pool(X)]


before = outputs(upper, maps[test][:50])
faster = transfer("fine-tuning", draw(main_shots, 0), 0, rate=3e-4)
change = {name: [((b - a).norm(dim=1) / a.norm(dim=1)).mean().item()
                 for a, b in zip(before, outputs(net, maps[test][:50]),
                                 strict=True)]
          for name, net in (("fine-tuning", kept["fine-tuning"]),
                            ("LoRA", kept["LoRA"]),
                            ("fine-tuning, rate 3e-4", faster))}
names = [str(i + 1) for i in range(strided[level], 16)] + ["features"]
ax = d2l.plot(range(len(names)), list(change.values()), list(change),
              fmts=("C1s-", "C2D-", "C1s--"), xlabel="block",
              ylabel="relative change")
ax.set_xticks(range(len(names)), labels=names)
ax.set_ylim(0)
d2l.describe(ax, """Relative change against the number of the block: for
    fine-tuning and LoRA both curves rise from below 0.1 at block 12 to a
    quarter at the features and lie close together; for fine-tuning at the
    rate 3e-4 the curve rises from 0.16 to 0.62.""")

# %% [markdown]
# **Figure 14.2.4.** Mean relative change of the output of each block above the frozen part, and of the features, after training with 20 labels of each kind.

# %%
# the change grows from block to block; it depends on the rate
faster_score = on_test(faster)
print(f"accuracy {table['fine-tuning'][main_shots][0]:.3f}, at the rate "
      f"3e-4 {faster_score:.3f}")
if full_run and real:
    slow, lora, fast = change.values()
    for row in slow, lora, fast:
        assert row == sorted(row) and 0.02 < row[0] < 0.6 * row[-2]
    assert 0.15 < slow[-1] < 0.4 and 0.67 < lora[-1] / slow[-1] < 1.5
    assert fast[-1] > 0.5 and fast[-1] > 1.7 * slow[-1]
    assert abs(faster_score - table["fine-tuning"][20][0]) < 0.05

# %% [markdown]
# The change builds up from block to block, and the features end up a quarter of their own length away from where they were.
# LoRA, with its fiftieth of the weights, has moved them about as far as fine-tuning.
# That depends on the two rates and is no law: at the tied rate 3e-4, fine-tuning moves the features by more than half of their length, for about the same accuracy in this draw.
# Kumar and others (2022) speak of distorted features and show what fine-tuning can cost: over ten data sets with a shift between training and test, its accuracy was on average 2 percentage points above the probe's on data like those it was trained on, and 7 points below on the others.
# In a model that they can solve they trace it to the head, which starts at random, so the body moves while the head is still wrong; they propose to fit the probe first and fine-tune from there.
# Exercise 1 tries that, on photographs without such a shift.

# %% [markdown]
# ## A source that does not help
#
# Pretraining can also lose.
# Let the source be the digits 0 to 4 of scikit-learn, 8 by 8 pixels, on which a network with two hidden layers becomes nearly perfect; the target is the digits 5 to 9, ten labels of each.

# %%
digits = load_digits()
X = torch.tensor(digits.images, dtype=torch.float32) / 16  # (1797, 8, 8)
t = torch.tensor(digits.target)
low, high = t < 5, (t > 4).nonzero()[:, 0][:300]
X_new, t_new = X[high], t[high] - 5


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(),
                         nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 5))


def train_digits(net, X, t, lr, epochs, seed):
    optimizer = torch.optim.AdamW(param_groups(net, lr, 1))
    train_ch14(net, (X, t), None, F.cross_entropy, optimizer, epochs, "cpu",
               score=None, seed=seed)
    return net


big = F.interpolate(X_new[:, None], size=(64, 64), mode="bilinear")
net = efficientnet_lite0()
with evaluating(net):
    on_photos = torch.cat([net.embed(part.expand(-1, 3, -1, -1))
                           for part in big.split(50)])

# %%
results = {}
for seed in range(num_seeds):
    torch.manual_seed(seed)
    blank = mlp()
    source = train_digits(copy.deepcopy(blank), X[low], t[low], 1e-2, 10,
                          seed)
    assert evaluate(source, (X[low], t[low])) > 0.97
    order = torch.randperm(300,
                           generator=torch.Generator().manual_seed(seed))
    ten = torch.cat([order[t_new[order] == k][:10] for k in range(5)])
    rest = order[~torch.isin(order, ten)]
    for lr in (3e-3, 1e-2):
        for name, net in (("scratch", mlp()), (
                "fine-tuned", replace_head(copy.deepcopy(source), 5))):
            train_digits(net, X_new[ten], t_new[ten], lr, 60, seed)
            results.setdefault(f"{name}, rate {lr}", []).append(
                evaluate(net, (X_new[rest], t_new[rest])))
    with torch.no_grad():  # features: the second hidden layer
        inner, random = source[:-1](X_new), blank[:-1](X_new)
    for name, Z in (("pixels", X_new.flatten(1)), ("digits 0-4", inner),
                    ("its initial weights", random),
                    ("photographs", on_photos)):
        head = linear_probe(Z[ten], t_new[ten])
        results.setdefault(f"probe, {name}", []).append(
            evaluate(head, (Z[rest], t_new[rest])))
for name, scores in results.items():
    print(f"{name:26s}", " ".join(f"{a:.2f}" for a in scores))

# %%
if num_seeds == 3:
    average = {name: sum(scores) / 3 for name, scores in results.items()}
    for lr in (3e-3, 1e-2):
        assert average[f"scratch, rate {lr}"] > average[
            f"fine-tuned, rate {lr}"] + 0.01
    for name in ("pixels", "its initial weights"):
        assert average[f"probe, {name}"] > average["probe, digits 0-4"] + 0.1
    if real:
        assert average["probe, pixels"] > average["probe, photographs"] + 0.04

# %% [markdown]
# At both rates, after 60 epochs, the network from scratch is on average better than the fine-tuned one, and a probe on 64 raw pixels beats a probe on the features of either source.
# The control for the narrow source is the same network before it was trained: in its second hidden layer, random weights leave the five new digits much easier to tell apart than weights that have learned the other five.
# The body that helped so much with cats does not help here either, frozen and on digits enlarged eightfold; fine-tuning it was not tried.
# Yosinski and others (2014) found that features transfer less well the further apart source and target are, but that even distant ones can be better than random ones; here they were worse.
# So whether pretraining helps is no property of the weights alone: test it on your task, against a probe on the raw input and a network from scratch.
#
# ## Sources of today
#
# Many of today's strongest bodies have seen far more than 1.28 million pictures, and no class labels.
# DINO trains a student to give the same output as a teacher for another view of the same picture; the teacher is a moving average of the student's weights, and there are $K$ outputs, to which no class is assigned.
# With logits $\mathbf{s},\mathbf{t}\in\mathbb{R}^K$ of student and teacher, a center $\mathbf{c}\in\mathbb{R}^K$, which is the running mean of $\mathbf{t}$, and temperatures $\tau_s>\tau_t$, the loss is
#
# $$-\sum_{k=1}^Kp_k\log\operatorname{softmax}(\mathbf{s}/\tau_s)_k,\qquad\mathbf{p}=\operatorname{softmax}((\mathbf{t}-\mathbf{c})/\tau_t). \tag{14.2.2}$$
#
# Without the center it has a useless minimum: the same one-hot output for all pictures has loss zero.
# With it, a constant output has a uniform target $\mathbf{p}$, once $\mathbf{c}$ has reached $\mathbf{t}$, and cannot get below $\log K$.
# Against the other collapse, to uniform outputs, Caron and others (2021) set the low $\tau_t$.

# %%
def dino_loss(student, teacher, center=0.0, tau_s=0.1, tau_t=0.04):
    """Mean cross-entropy of student logits (n, K) with a teacher's."""
    p = ((teacher.detach() - center) / tau_t).softmax(dim=1)
    return (p * -(student / tau_s).log_softmax(dim=1)).sum(1).mean()


K, pictures = 8, torch.arange(32)
constant = 5 * F.one_hot(torch.zeros(32, dtype=torch.long), K).float()
spread = 5 * F.one_hot(pictures % K, K).float()  # groups of pictures
pair = 5 * F.one_hot(pictures % 2, K).float()
flat = torch.zeros(32, K)
for name, logits in (("one-hot for all", constant), ("uniform", flat),
                     ("one of two each", pair), ("one of K each", spread)):
    print(f"{name:16s} without center {dino_loss(logits, logits):7.3f}, "
          f"with {dino_loss(logits, logits, logits.mean(0)):7.3f}")
assert dino_loss(constant, constant) < 1e-6
assert dino_loss(constant, constant, constant.mean(0)) > math.log(K)
for center in (0.0, flat.mean(0)):
    assert abs(dino_loss(flat, flat, center) - math.log(K)) < 1e-5
for good in (pair, spread):
    assert dino_loss(good, good, good.mean(0)) < 1e-6

# %%
# equation 14.2.2 with other logits in each place; the teacher gets no gradient
u, v, c = torch.randn(3, 5, K, generator=torch.Generator().manual_seed(0))
u, v = u.requires_grad_(), v.requires_grad_()
loss = dino_loss(u, v, c[0])
torch.testing.assert_close(
    loss, F.cross_entropy(u / 0.1, ((v - c[0]) / 0.04).softmax(dim=1)))
loss.backward()
assert v.grad is None and u.grad.abs().max() > 0

# %% [markdown]
# In this table, only the outputs that differ between pictures get a loss near zero with the center; two of the $K$ values are enough for that.
# DINO showed its best results with vision Transformers ([Section 11.8](../11-attention-and-transformers/08-vision-transformer.ipynb)), trained on ImageNet without its labels.
# DINOv2 (2023) and DINOv3 (2025) extend the recipe to larger ones and to large curated collections, and their main results use the features without fine-tuning; DINOv3 adds a loss on the Gram matrix of the patch features, against the decay of local features in long training.
# SigLIP 2 (2025) learns from pictures with texts; [Section 14.14](14-dog-breeds.ipynb) trains two small encoders in this way.
# In the package timm, `timm.create_model(name, pretrained=True, num_classes=0)` gives a body without a head, and the model carries the settings of its preprocessing.

# %% [markdown]
# ## Summary
#
# - Keep the body, replace the head, and give each parameter one group; weights come with a preprocessing, and nothing complains when it is missing.
# - `requires_grad=False` stops weights, not the running statistics: `freeze_bn` after each `train()`. In our runs batch normalization in training mode cost accuracy in every draw.
# - A frozen lower part runs once; a linear probe is the limit in which the whole body does, and a strong baseline.
# - LoRA adapts 1x1 convolutions like linear layers, starts at the pretrained network, and is merged in the end.
# - On cats and dogs the probe, fine-tuning and LoRA were all far above training from scratch and close to one another; on digits a probe on the same body lost to one on raw pixels.

# %% [markdown]
# ## Exercises
#
# ### Exercise 14.2-1
#
# Fine-tune with the rate of the body raised by 10 and by 100 and that of the head unchanged (first draw, 20 labels of each kind).
# Then start from the head of the probe instead of a random one, all rates as in the text, in each draw.
# Last, stop after one pass with 80 labels (first draw).

# %% [markdown]
# #### Solution 14.2-1

# %%
base, multiple = RATES["fine-tuning"]


def tune_from(net, chosen, seed, body_rate=base):
    """Test accuracy after `updates` steps of fine-tuning."""
    groups = param_groups(net, body_rate, multiple * base / body_rate)
    fit(net, maps, chosen, groups, updates, seed)
    return on_test(net)


by_rate = {factor: tune_from(start("fine-tuning", 0), draw(main_shots, 0),
                             0, factor * base) for factor in (10, 100)}
by_rate[1] = table["fine-tuning"][main_shots][0]
after = []
for seed in range(num_seeds):
    chosen = draw(main_shots, seed)
    from_probe = copy.deepcopy(upper)
    from_probe.fc = linear_probe(features[chosen], y[chosen])
    after.append(tune_from(from_probe, chosen, seed))
once = tune_from(start("fine-tuning", 0), draw(shots[-1], 0), 0)
print({factor: round(a, 3) for factor, a in by_rate.items()})
print("from the head of the probe", " ".join(f"{a:.3f}" for a in after))
print(f"one pass {once:.3f}, three {table['fine-tuning'][shots[-1]][0]:.3f}")

# %%
if full_run and real:
    assert by_rate[1] > by_rate[10] + 0.05 and abs(by_rate[100] - 0.5) < 0.1
    assert sum(after) / 3 > mean["fine-tuning"][20] + 0.02
    assert sum(after) / 3 > mean["probe"][20] - 0.01
    assert all(once + 0.03 < table[arm][80][0]
               for arm in ("probe", "fine-tuning"))
    assert table["fine-tuning"][80][0] > table["probe"][80][0] - 0.02

# %% [markdown]
# In this draw, ten times the body's rate costs accuracy, and with a hundred times the network guesses.
# From the probe's head, the same fine-tuning is on average better than from a random one, and at least as good as the probe.
# In this draw of 80 labels, one pass leaves fine-tuning behind the probe, three do not.

# %% [markdown]
# ### Exercise 14.2-2
#
# Train with all but the head frozen, and compare the logits with those of the same head trained on the stored features, with equal starts and batches: once with frozen statistics, once in training mode.

# %% [markdown]
# #### Solution 14.2-2

# %% [markdown]
# With frozen statistics the body is a fixed function of each picture, so both runs see the same features and take the same steps.
# In training mode the features of a picture depend on its batch.

# %%
def train_head(net, X, set_mode):
    """A few epochs of the head alone."""
    set_trainable(net, lambda name: name.startswith("fc.")
                  or "." not in name)
    groups = param_groups(net, 1e-3, 1)
    fit(net, X, chosen, groups, min(updates, 6), 0, set_mode)
    return net


chosen = draw(main_shots, 0)
alone = train_head(start("fine-tuning", 0).fc, features, nn.Module.train)
gap = {}
for name, mode in (("frozen", train_frozen_bn), ("moving", nn.Module.train)):
    net = train_head(start("fine-tuning", 0), maps, mode)
    with evaluating(net):
        logits = net(maps[test][:20])
    gap[name] = (logits - alone(features[test][:20])).abs().max().item()
assert gap["frozen"] < 1e-4 and gap["moving"] > 0.01

# %% [markdown]
# ### Exercise 14.2-3
#
# Use no training at all: classes 281 to 285 of ImageNet are domestic cats, 151 to 268 breeds of dogs.
# Sum the source's probabilities over both groups.
# Then start a head of two classes from the mean weights of each group: what is its first loss?

# %% [markdown]
# #### Solution 14.2-3

# %%
source_head = efficientnet_lite0()._fc.to(device)
groups = slice(281, 286), slice(151, 269)  # cats, dogs
with torch.no_grad():
    p = source_head(features).softmax(dim=1)  # (n, 1000)
    W = torch.stack([source_head.weight[g].mean(0) for g in groups])
    b = torch.stack([source_head.bias[g].mean() for g in groups])
    scores = {"sum": torch.stack([p[:, g].sum(1) for g in groups], 1),
              "mean": torch.stack([p[:, g].mean(1) for g in groups], 1),
              "head": features @ W.T + b}
    loss = F.cross_entropy(scores["head"], y).item()
hits = {name: (s.argmax(1) == y).float() for name, s in scores.items()}
untrained = {name: h.mean().item() for name, h in hits.items()}
cats = {name: h[y == 0].mean().item() for name, h in hits.items()}
for name in scores:
    print(f"{name:5s} all {untrained[name]:.3f}, cats {cats[name]:.3f}")
print(f"first loss of the head {loss:.3f}, of guessing {math.log(2):.3f}")
if real and num_photos == 350:
    assert 0.65 < untrained["sum"] < 0.8 and cats["sum"] < 0.6
    assert hits["sum"][y == 1].mean() > 0.9
    assert 0.87 < untrained["head"] > untrained["mean"] + 0.05
    geometric = torch.stack([p[:, g].log().mean(1) for g in groups], 1)
    assert torch.equal(geometric.argmax(1), scores["head"].argmax(1))
    assert loss < 0.7 * math.log(2)

# %% [markdown]
# Without a single label, the head of mean rows is right on nine photographs out of ten.
# The summed probabilities find nearly all dogs and only half of the cats.
# Dividing each sum by its number of classes, 5 or 118, helps only a little.
# The score of a mean row is the mean of the logarithms of the group's probabilities, up to a number that both groups share: the head compares geometric means, in which one likely breed among many unlikely ones counts for little.

# %% [markdown]
# ### Exercise 14.2-4
#
# How many weights does LoRA of rank $r$ train on the last layer of ResNet-18, for 1000 classes?
# From which rank on are they more than the layer has?
# And for a head of two classes?

# %% [markdown]
# #### Solution 14.2-4

# %% [markdown]
# The layer has $512\cdot1000$ weights, LoRA $r(512+1000)$: for $r=4$ that is 6048, and from $r=339$ on it is more.
# A head of two classes has 1024, LoRA $514r$: for $r=2$ already more, and a rank of 2 is all that such a matrix can have.
# A new head is trained as it is.

# %%
def adapters(outputs, r):
    return count_params(LoRALinear(nn.Linear(512, outputs), r), True)


assert adapters(1000, 4) == 6048
assert [r for r in range(300, 400) if adapters(1000, r) > 512_000][0] == 339
assert adapters(2, 1) < 1024 < adapters(2, 2)

# %% [markdown]
# ### Exercise 14.2-5
#
# Write layer-wise decay for our upper part: a group for each block, the rate falls by a factor from each to the one below.

# %% [markdown]
# #### Solution 14.2-5

# %%
def layerwise_groups(net, lr, decay=0.7):
    """From the head down to the lowest block; each rate is decay times."""
    parts = [net.fc, nn.ModuleList([net.conv, net.norm]),
             *reversed(net.blocks)]
    return [{"params": list(part.parameters()), "lr": lr * decay**i}
            for i, part in enumerate(parts)]


lower = start("fine-tuning", 0)
groups = layerwise_groups(lower, 3e-3)
assert groups[-1]["params"][0] is lower.blocks[0]._expand_conv.weight
assert groups[0]["params"][0] is lower.fc.weight
assert len(groups) == len(upper.blocks) + 2
assert math.isclose(groups[-1]["lr"], 3e-3 * 0.7 ** (len(groups) - 1))
assert sum(p.numel() for g in groups for p in g["params"]) == sum(
    p.numel() for p in start("fine-tuning", 0).parameters())

# %% [markdown]
# ## Sources
#
# - O. Russakovsky et al. (2015). ImageNet large scale visual recognition challenge. [arXiv:1409.0575](https://arxiv.org/abs/1409.0575): the source task.
# - M. Tan and Q. V. Le (2019). EfficientNet: rethinking model scaling for convolutional neural networks. [arXiv:1905.11946](https://arxiv.org/abs/1905.11946): the family of the body.
# - J. Yosinski, J. Clune, Y. Bengio and H. Lipson (2014). How transferable are features in deep neural networks? [arXiv:1411.1792](https://arxiv.org/abs/1411.1792): from general to specific layers.
# - J. Donahue et al. (2013). DeCAF: a deep convolutional activation feature for generic visual recognition. [arXiv:1310.1531](https://arxiv.org/abs/1310.1531).
# - A. S. Razavian, H. Azizpour, J. Sullivan and S. Carlsson (2014). CNN features off-the-shelf: an astounding baseline for recognition. [arXiv:1403.6382](https://arxiv.org/abs/1403.6382): linear classifiers on frozen features.
# - J. Howard and S. Ruder (2018). Universal language model fine-tuning for text classification. [arXiv:1801.06146](https://arxiv.org/abs/1801.06146): rates that fall from layer to layer.
# - K. He, R. Girshick and P. Dollár (2018). Rethinking ImageNet pre-training. [arXiv:1811.08883](https://arxiv.org/abs/1811.08883): from random weights to the same accuracy, with more updates.
# - E. J. Hu et al. (2021). LoRA: low-rank adaptation of large language models. [arXiv:2106.09685](https://arxiv.org/abs/2106.09685).
# - D. Kalajdzievski (2023). A rank stabilization scaling factor for fine-tuning with LoRA. [arXiv:2312.03732](https://arxiv.org/abs/2312.03732): the square root of the rank.
# - A. Kumar, A. Raghunathan, R. Jones, T. Ma and P. Liang (2022). Fine-tuning can distort pretrained features and underperform out-of-distribution. [arXiv:2202.10054](https://arxiv.org/abs/2202.10054).
# - M. Caron et al. (2021). Emerging properties in self-supervised vision transformers. [arXiv:2104.14294](https://arxiv.org/abs/2104.14294): DINO, with centering and sharpening.
# - M. Oquab et al. (2023). DINOv2: learning robust visual features without supervision. [arXiv:2304.07193](https://arxiv.org/abs/2304.07193).
# - O. Siméoni et al. (2025). DINOv3. [arXiv:2508.10104](https://arxiv.org/abs/2508.10104): Gram anchoring.
# - M. Tschannen et al. (2025). SigLIP 2: multilingual vision-language encoders with improved semantic understanding, localization, and dense features. [arXiv:2502.14786](https://arxiv.org/abs/2502.14786).
