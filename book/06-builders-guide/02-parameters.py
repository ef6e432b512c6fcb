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
# # 6.2 Parameter management
#
# Training changes parameters, and most of the time an optimizer does it unseen.
# Sooner or later you want to reach them yourself: to look at a gradient, to keep a layer as it is, to let two layers share one matrix.
# How are parameters named, how are they changed without confusing autograd, and what exactly is shared when they are shared?

# %% [markdown]
# **You will**
#
# - reach any parameter of a model by its name, and list them all;
# - change values safely, and see what goes wrong silently otherwise;
# - freeze a part of a model;
# - tie layers, and predict their number of parameters, their gradients and what happens when they are copied or saved.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import copy

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Reaching parameters
#
# Our example has one hidden layer, four inputs and one output.
#
# ![A tree. The network net has three children: 0, a Linear, 1, a ReLU, and 2, a Linear. Child 0 has the parameters weight, 8 by 4, and bias, 8; child 2 has weight, 1 by 8, and bias, 1; the ReLU has none. Beside the parameters stand their names: 0.weight, 0.bias, 2.weight, 2.bias.](img/parameter-paths.svg)
#
# **Figure 6.2.1.** The name of a parameter is the path that leads to it.
#
# The layers are lazy: their input sizes are found at the first forward pass ([Section 6.4](04-lazy-initialization.ipynb)).
# Until then there are no numbers to look at, and the parameters say so.

# %%
torch.manual_seed(0)
net = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(1))
print(type(net[2].weight).__name__)

# %%
# check 6.2-C2: before the first forward pass there is nothing to measure
weight = net[0].weight
try:
    weight.numel()
    counted = True
except ValueError as error:
    counted = False
    print("numel:", str(error)[:60], "...")
try:
    weight.shape
    shaped = True
except RuntimeError as error:
    shaped = False
    print("shape:", str(error)[:60], "...")
assert not counted and not shaped

# %% [markdown]
# One pass later they exist.
# A `Sequential` can be indexed like a list, and the *state* of a layer is a dictionary from names to tensors:

# %%
X = torch.rand(2, 4, generator=torch.Generator().manual_seed(1))
y_hat = net(X)  # (2, 1)
for name, value in net[2].state_dict().items():
    print(name, tuple(value.shape))

# %% [markdown]
# A *parameter* is an object of the class `nn.Parameter`, a tensor with two additions: it registers itself when it becomes an attribute of a module, and it wants gradients.
# Its value can be read with `detach()`; its gradient is `None` until `backward` has run.

# %%
b = net[2].bias
print(type(b).__name__, b.requires_grad, b.grad)

# %% [markdown]
# To reach all parameters of a model, however deeply it is nested, ask for `named_parameters()`.
# The names are the paths from the model to the parameter, with dots in between; `0.weight` is the weight of child 0.
# (Child 1, the ReLU, has none.)

# %%
# check 6.2-C1: names, shapes, number, and no gradient yet
shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
print(shapes)
assert shapes == {"0.weight": (8, 4), "0.bias": (8,),
                  "2.weight": (1, 8), "2.bias": (1,)}
assert sum(p.numel() for p in net.parameters()) == 49
assert y_hat.shape == (2, 1)
assert all(p.grad is None for p in net.parameters())

# %% [markdown]
# The way back from a name to the object is `get_parameter`, or `get_submodule` for a part of the model.
# And where an algorithm wants a single vector of all parameters, `parameters_to_vector` makes one.

# %%
assert net.get_parameter("0.weight") is net[0].weight
assert net.get_submodule("2") is net[2]
vector = parameters_to_vector(net.parameters())
assert vector.shape == (49,)
assert torch.equal(vector[:32].reshape(8, 4), net[0].weight)

# %% [markdown]
# With names one can write tools that work for every model.
# The following one is worth having when training does not work: it says how large the gradient of each parameter is.

# %% tags=["export"]
def grad_norms(net):
    """Name -> norm of the gradient, for parameters that have one."""
    return {name: torch.linalg.vector_norm(p.grad).item()
            for name, p in net.named_parameters() if p.grad is not None}

# %%
net(X).sum().backward()
for name, norm in grad_norms(net).items():
    print(f"{name:9} {norm:.3f}")
assert set(grad_norms(net)) == set(shapes)
assert grad_norms(net)["2.bias"] == 2  # d(y1 + y2)/db is 1 + 1
squares = net[0].weight.grad.square().sum()
assert abs(grad_norms(net)["0.weight"] - squares.sqrt().item()) < 1e-6

# %% [markdown]
# ## Changing values
#
# Parameters are leaves of the computational graph, and autograd does not allow them to be changed in place while it records ([Section 2.5](../02-preliminaries/05-automatic-differentiation.ipynb)).
# The safe way is to switch the recording off:

# %%
with torch.no_grad():
    net[2].bias.fill_(0.5)
    net[0].weight[0, 0] = 42
assert net[2].bias.item() == 0.5 and net[0].weight[0, 0] == 42

# %% [markdown]
# In older code you will find `p.data.fill_(0.5)`.
# It works, and it is dangerous.
# Each tensor counts its changes, and `backward` compares the count with the one at the time of the forward pass; if a saved value has changed, there is an error.
# `.data` bypasses the counter.
# Let $y=w^2$ at $w=2$, so that the gradient is $2w=4$, and change $w$ to 10 before the backward pass:

# %%
# check 6.2-C7: .data gives a wrong gradient, no_grad an error
w = torch.tensor(2.0, requires_grad=True)
y = w**2
w.data.fill_(10)
y.backward()
print("gradient of w**2 at w = 2, after .data:", w.grad.item())
assert w.grad == 20  # 2 * 10, the value of a function that never ran

w = torch.tensor(2.0, requires_grad=True)
y = w**2
with torch.no_grad():
    w.fill_(10)
try:
    y.backward()
    noticed = False
except RuntimeError as error:
    noticed = True
    print("after no_grad:", str(error)[:62], "...")
assert noticed

# %% [markdown]
# ### Freezing
#
# For a parameter with `requires_grad_(False)` no gradient is computed, and where nothing below it needs one, the backward pass stops early.
# This is how a part of a trained model is reused while the rest is trained anew.
# Hand only the other parameters to the optimizer.
# An optimizer does not look at `requires_grad`: it skips parameters whose `grad` is `None` and changes all others.
# A layer that is frozen after a backward pass still holds its last gradient, and the next step moves it.
# Different settings for different parts go into *parameter groups*, as in [Section 3.7](../03-linear-regression/07-weight-decay.ipynb).

# %%
# check 6.2-C8: nine trainable parameters, and a first layer that stays
torch.manual_seed(1)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
net[0].requires_grad_(False)
trainable = [p for p in net.parameters() if p.requires_grad]
before = [p.detach().clone() for p in net.parameters()]
optimizer = torch.optim.SGD(trainable, lr=0.1)
net(X).square().mean().backward()
optimizer.step()
same = [torch.equal(p, q) for p, q in zip(net.parameters(), before)]
print("trainable:", sum(p.numel() for p in trainable), " unchanged:", same)
assert sum(p.numel() for p in trainable) == 9
assert same == [True, True, False, False]
assert set(grad_norms(net)) == {"2.weight", "2.bias"}
assert not net[:2](X).requires_grad  # the way back ends at layer 2

# %% [markdown]
# The trap in a small case: freezing alone does not stop the step, removing the old gradient does.

# %%
late = nn.Linear(4, 1)
late(X).sum().backward()
late.requires_grad_(False)  # too late: the gradients are still there
assert not late.weight.requires_grad and late.weight.grad is not None
assert set(grad_norms(late)) == {"weight", "bias"}
before = late.weight.clone()
optimizer = torch.optim.SGD(late.parameters(), lr=0.1, weight_decay=0.1)
optimizer.step()
moved = not torch.equal(late.weight, before)
late.zero_grad()  # sets the gradients to None
assert not grad_norms(late)
before = late.weight.clone()
optimizer.step()  # nothing to do, weight decay included
print("moved by its old gradient:", moved)
assert moved and torch.equal(late.weight, before)

# %% [markdown]
# ### Other parameters for a moment
#
# To ask "what if the parameters were different?" one need not change the model.
# `functional_call` evaluates it with a dictionary of other values:

# %%
doubled = {name: 2 * p for name, p in net.named_parameters()}
once, with_doubled = net(X), functional_call(net, doubled, X)
assert torch.equal(net(X), once)  # the model is as it was
b = net[2].bias  # two layers of doubled weights, one doubled bias behind
torch.testing.assert_close(with_doubled, 4 * (once - b) + 2 * b)

# %% [markdown]
# ## Tied parameters
#
# Often one matrix should serve in several places.
# A recurrent network applies the same layer at every step of time (Chapter 9), and a language model can use one table to read words and to write them (Chapter 11).
# The parameters are then *tied*, or shared.
# This saves memory, and it builds a symmetry into the model.
# Whether the two tables of a language model are tied can depend on its size: of the dense Qwen3 models (2025), those with up to 4 billion parameters tie them, and those with 8 billion or more do not.
#
# Put the same module into the network twice:

# %%
torch.manual_seed(0)
shared = nn.Linear(8, 8)
tied = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(),
                     shared, nn.ReLU(), nn.Linear(8, 1))

# %%
# check 6.2-C4: one object at two positions, not two equal ones
assert tied[2].weight is tied[4].weight
with torch.no_grad():
    tied[2].weight[0, 0] = 100
assert torch.equal(tied[2].weight[0], tied[4].weight[0])
assert tied[4].weight[0, 0] == 100

# %% [markdown]
# ![Two pictures. Tied: positions 2 and 4 of the network both point to one box with a weight and its gradient. Copied: positions 2 and 4 point to two boxes with equal weights and gradients of their own.](img/tied-and-copied.svg)
#
# **Figure 6.2.2.** Tied layers are two names for one object; copied layers begin equal and go their own ways.

# %% [markdown]
# How many parameters has this network?
# It depends on what is counted.
# `parameters()` and `named_parameters()` list each *object* once, under its first name; there are $40+72+9=121$ numbers.
# `state_dict()` lists every *name*.

# %%
# check 6.2-C3: 121 parameters, six objects, eight names
count = sum(p.numel() for p in tied.parameters())
objects = list(dict(tied.named_parameters()))
names = list(tied.state_dict())
everything = dict(tied.named_parameters(remove_duplicate=False))
print(count, "numbers;", objects)
assert count == 40 + 72 + 9 == 121
assert len(objects) == 6 and len(names) == len(everything) == 8

# %% [markdown]
# ### Gradients add up
#
# A parameter that is used twice influences the loss in two ways, and by the chain rule the contributions are added:
#
# $$
# \nabla_{\theta}L=\sum_{u}\frac{\partial L}{\partial\theta^{(u)}}, \tag{6.2.1}
# $$
#
# where $L$ is the loss, $\theta$ the tied parameter, and $\theta^{(u)}$ its use at position $u$, treated as if it were a parameter of its own.
# An *untied twin*, a network with copies in place of the shared layer, shows the single terms.

# %%
# check 6.2-C5: the tied gradient is the sum of the two untied ones
def untied_twin(net):
    """A network with the same values, without shared modules."""
    return nn.Sequential(*(copy.deepcopy(module) for module in net))

torch.manual_seed(0)
shared = nn.Linear(8, 8)
tied = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(),
                     shared, nn.ReLU(), nn.Linear(8, 1)).double()
twin = untied_twin(tied)
for model in (tied, twin):
    model(X.double()).square().sum().backward()
torch.testing.assert_close(tied[2].weight.grad,
                           twin[2].weight.grad + twin[4].weight.grad)
assert twin[2].weight is not twin[4].weight

# %% tags=["hide-input"]
left, right = grad_norms(tied), grad_norms(twin)
names = list(right)
at = torch.arange(len(names))
_, ax = plt.subplots(figsize=(6, 2.8))
ax.bar((at - 0.2).tolist(), [left.get(n, 0) for n in names], 0.4,
       label="tied")
ax.bar((at + 0.2).tolist(), [right[n] for n in names], 0.4,
       label="untied twin", color="#E69F00")
ax.set_xticks(at.tolist(), labels=names, rotation=30)
ax.set(ylabel="norm of the gradient")
ax.legend()
d2l.describe(ax, "Norms of the gradients of all parameters for the tied "
             "network and its untied twin. They agree outside the shared "
             "layer. The tied layer has one gradient, at position 2, which "
             "is the sum of the two in the twin; position 4 has no entry of "
             "its own.")

# %% [markdown]
# **Figure 6.2.3.** Gradients of the tied network and its twin.
# The names `4.weight` and `4.bias` exist in the twin only; the gradient of the tied layer is the sum of two *vectors*, so its norm need not be the sum of their norms.

# %% [markdown]
# ### Copying and saving
#
# `copy.deepcopy` copies the network as a whole, and keeps the tie.
# Loading does not restore it: `load_state_dict` takes one name after the other and copies values into the parameters that are there.
# If those belong to separate layers, everything matches and the tie is gone, without a word.
# The tie lives in the code that builds the model.

# %%
# check 6.2-C6: a copy keeps the tie, loading does not make one
again = copy.deepcopy(tied)
assert again[2].weight is again[4].weight
assert again[2].weight is not tied[2].weight
with torch.no_grad():
    for p in twin.parameters():
        p.zero_()  # something to overwrite
report = twin.load_state_dict(tied.state_dict())
print(report)
assert torch.equal(twin(X.double()), tied(X.double()))
assert not report.missing_keys and not report.unexpected_keys
assert twin[2].weight is not twin[4].weight
with torch.no_grad():
    twin[2].weight += 1
assert not torch.equal(twin[2].weight, twin[4].weight)

# %% [markdown]
# ## Summary
#
# - Parameters are found by their paths: `named_parameters`, `get_parameter`, `state_dict`.
# - Change values under `no_grad`. `.data` hides the change from autograd, and the gradient may be that of a function that never ran.
# - `requires_grad_(False)` freezes, if no old gradient is left; give the optimizer the other parameters only.
# - A module at two positions is one object: one set of parameters, and a gradient that is the sum over its uses.
# - `parameters()` counts objects, `state_dict()` names; loading copies values and makes no ties.

# %% [markdown]
# ## Exercises
#
# ### Exercise 6.2-1
#
# `NestMLP` of [Section 6.1](01-layers-and-modules.ipynb) has a sequential part `net` with layers of 64 and 32 units, and a last layer `linear` with 16.
# List the names of its parameters before you run anything.

# %% [markdown]
# #### Solution 6.2-1

# %% [markdown]
# The path has one name for each level; the activations count as children and have no parameters.

# %%
class NestMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(),
                                 nn.Linear(64, 32), nn.ReLU())
        self.linear = nn.Linear(32, 16)

    def forward(self, X):
        return self.linear(self.net(X))

names = [name for name, _ in NestMLP().named_parameters()]
print(names)
assert names == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias",
                 "linear.weight", "linear.bias"]

# %% [markdown]
# ### Exercise 6.2-2
#
# Train a network with a tied layer for 20 steps.
# Are both positions still equal, exactly or nearly?

# %% [markdown]
# #### Solution 6.2-2

# %% [markdown]
# Exactly, since there is only one tensor, and the optimizer sees it once.

# %%
torch.manual_seed(2)
shared = nn.Linear(8, 8)
tied = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(),
                     shared, nn.ReLU(), nn.Linear(8, 1))
start = shared.weight.detach().clone()
optimizer = torch.optim.SGD(tied.parameters(), lr=0.05)
for _ in range(20):
    optimizer.zero_grad()
    (tied(X) - 1).square().mean().backward()
    optimizer.step()
assert torch.equal(tied[2].weight, tied[4].weight)
assert not torch.equal(start, shared.weight)

# %% [markdown]
# ### Exercise 6.2-3
#
# A network applies one $8\times8$ layer $k$ times.
# How many free parameters does it have?

# %% [markdown]
# #### Solution 6.2-3

# %% [markdown]
# $8\cdot8+8=72$ for any $k$.
# What grows with $k$ is the computation, and the memory for the backward pass.

# %%
for k in (1, 5, 50):
    layer = nn.Linear(8, 8)
    deep = nn.Sequential(*[layer] * k)
    assert sum(p.numel() for p in deep.parameters()) == 72
    assert len(deep.state_dict()) == 2 * k

# %% [markdown]
# ### Exercise 6.2-4
#
# An *autoencoder* maps $\mathbf{x}$ to $\mathbf{W}\mathbf{x}$ with fewer elements, and back by a second matrix.
# Tie the second to the first as $\mathbf{W}^\top$.
# What is the gradient of $\mathbf{W}$?

# %% [markdown]
# #### Solution 6.2-4

# %% [markdown]
# Use the one parameter twice, once transposed.
# Its gradient is the sum of the two contributions, the second one transposed.

# %%
rng = torch.Generator().manual_seed(3)
W = torch.randn(2, 5, generator=rng, dtype=torch.float64, requires_grad=True)
Z = torch.randn(7, 5, generator=rng, dtype=torch.float64)
(Z @ W.T @ W - Z).square().sum().backward()

encoder, decoder = (W.detach().clone().requires_grad_() for _ in range(2))
(Z @ encoder.T @ decoder - Z).square().sum().backward()
torch.testing.assert_close(W.grad, encoder.grad + decoder.grad)

# %% [markdown]
# ### Exercise 6.2-5
#
# Untie a tied network in place, so that the outputs stay the same.

# %% [markdown]
# #### Solution 6.2-5

# %% [markdown]
# Replace the module at one position by a copy of itself.
# An optimizer that was made before does not know the new parameters, so make a new one.

# %%
before = tied(X).detach()
tied[4] = copy.deepcopy(tied[4])
assert tied[2].weight is not tied[4].weight
assert torch.equal(tied(X), before)
known = {id(p) for group in optimizer.param_groups for p in group["params"]}
assert id(tied[4].weight) not in known
assert sum(p.numel() for p in tied.parameters()) == 121 + 72

# %% [markdown]
# ## Sources
#
# - PyTorch documentation, [Module](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html): names, `state_dict`, `get_parameter`; [autograd mechanics](https://docs.pytorch.org/docs/stable/notes/autograd.html): version counters and in-place operations; [functional_call](https://docs.pytorch.org/docs/stable/generated/torch.func.functional_call.html).
# - O. Press, L. Wolf (2017). Using the output embedding to improve language models. [arXiv:1608.05859](https://arxiv.org/abs/1608.05859): tying the tables of a language model.
# - A. Yang et al. (2025). Qwen3 technical report. [arXiv:2505.09388](https://arxiv.org/abs/2505.09388): which of its models tie them (table 1).
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the example network and the tied layers.
