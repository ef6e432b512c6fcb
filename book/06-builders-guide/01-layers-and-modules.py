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
# # 6.1 Layers and modules
#
# So far we have stacked finished layers, and PyTorch found their parameters by itself.
# How does it find them, and what can we write in place of a stack?
# The answers let you build networks that are more than a stack, and spare you models that run without learning.
#
# **You will**
#
# - write modules with any Python code between input and output, and nest them in each other;
# - predict which tensors of a module are trained, saved and moved, and which are overlooked;
# - say what `net(X)` does that `net.forward(X)` does not, and use it to look inside a network;
# - count the parameters of any network, by hand and by program.
#
# **Cost**: a few seconds on a CPU, no download, no use for a GPU.

# %%
import contextlib
import copy
import io

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## One signature for everything
#
# A neuron takes some numbers, returns a number, and has weights that can be tuned.
# A layer takes a vector, returns a vector, and has weights that can be tuned.
# So does a whole network.
# Since all three have the same signature, one concept is enough for them.
#
# A *module* is anything that maps inputs to outputs and may own parameters: one layer, a group of layers, a whole model, or a model with its loss.
# Because a group of modules is again a module, the definition is recursive, and large things are built from small ones without a new rule for each size.
#
# ![Nested boxes. A large box, the model, contains two equal boxes, the blocks, and a linear layer; each block contains a linear layer and a ReLU. An arrow leads from the input X through all layers to the output.](img/nested-modules.svg)

# %% [markdown]
# **Figure 6.1.1.** Layers in blocks, blocks in a model.
# Every box is a module: seen from outside, the model cannot be told from a layer.
#
# This matters as soon as networks get deep.
# ResNet-152, a part of the entry that won an image recognition competition in 2015, has 152 layers with weights.
# Nobody writes 152 lines for it: a few kinds of blocks are repeated in groups, and the program names the block and the number of repetitions.
#
# If a module passes its input through the modules $f_1, \dots, f_L$ in turn, it computes
#
# $$
# f(\mathbf{x}; \theta) = f_L\bigl(\cdots f_2(f_1(\mathbf{x}; \theta_1); \theta_2) \cdots; \theta_L\bigr),
# \qquad \theta = (\theta_1, \dots, \theta_L). \tag{6.1.1}
# $$
#
# Here $\mathbf{x} \in \mathbb{R}^d$ is the input; $f_l$ is the $l$-th module and $\theta_l$ the collection of all its parameters, of any shapes; $\theta$ collects those of the whole.
# The output of one module must have the shape that the next accepts; beyond that they know nothing of each other.
#
# The parameters of a module can be counted by the same recursion.
# If no parameter tensor occurs twice, then
#
# $$
# N(m) = \sum_{p \in \mathrm{own}(m)} |p| + \sum_{c \in \mathrm{children}(m)} N(c). \tag{6.1.2}
# $$
#
# $N(m)$ is the number of trainable numbers in the module $m$, an integer; $\mathrm{own}(m)$ is the set of parameter tensors that $m$ holds itself, $|p|$ the number of entries of the tensor $p$; $\mathrm{children}(m)$ are the modules directly inside $m$.
# A linear layer with $a$ inputs and $b$ outputs has no children and owns $|\mathbf{W}| + |\mathbf{b}| = ab + b$ numbers.
# A multilayer perceptron with 20 inputs, 256 hidden units and 10 outputs thus has $20 \cdot 256 + 256 + 256 \cdot 10 + 10 = 7946$.
#
# A program has an advantage over formula (6.1.2): it can see whether a tensor occurs twice.
# `parameters()` walks through the module and everything inside it and yields each tensor once.

# %% tags=["export"]
def count_params(net, trainable=False):
    """Number of entries in the parameters of the module `net`.

    A tensor that occurs in several places counts once. With
    `trainable=True` only those count that have `requires_grad` set.
    """
    return sum(p.numel() for p in net.parameters()
               if p.requires_grad or not trainable)

# %%
net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))
X = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
print(count_params(net), tuple(net(X).shape))

assert count_params(net) == 20 * 256 + 256 + 256 * 10 + 10
net[0].bias.requires_grad_(False)
assert count_params(net, trainable=True) == count_params(net) - 256

# %% [markdown]
# ## A module of our own
#
# A module has five duties.
#
# 1. It accepts the inputs, as the arguments of its method `forward`.
# 2. It returns an output, whose shape may differ from that of the input.
# 3. It allows gradients: autograd records what `forward` does ([Section 2.5](../02-preliminaries/05-automatic-differentiation.ipynb)), so there is nothing to write.
# 4. It owns its parameters, so that others can find, train, save and move them.
# 5. It gives the parameters their first values; the built-in layers do so when they are made.
#
# That leaves us two methods to write: `__init__`, which creates the parts, and `forward`, which uses them.

# %%
class MLP(nn.Module):
    """A perceptron with one hidden layer: (n, num_inputs) -> (n, q)."""

    def __init__(self, num_inputs=20, num_hiddens=256, num_outputs=10):
        super().__init__()  # first, before any layer
        self.hidden = nn.Linear(num_inputs, num_hiddens)
        self.output = nn.Linear(num_hiddens, num_outputs)

    def forward(self, X):
        H = F.relu(self.hidden(X))  # (n, num_hiddens)
        return self.output(H)  # (n, num_outputs)

# %%
# check 6.1-C1: 7946 parameters, two rows of 20 become two rows of 10
torch.manual_seed(0)
net = MLP()
assert count_params(net) == 7946
assert net(X).shape == (2, 10)
H = (X @ net.hidden.weight.T + net.hidden.bias).clamp(min=0)
torch.testing.assert_close(net(X),
                           H @ net.output.weight.T + net.output.bias)
print(net)

# %% [markdown]
# The printed form lists what the module found in itself, under the names that we gave to the attributes.
# The ReLU is missing: it is a function without parameters, which `forward` calls, and not a part of the module.
# A class is a plan and an instance is a model: a second instance has the same architecture and parameters of its own.

# %%
other = MLP()
same = torch.equal(net.hidden.weight, other.hidden.weight)
print("second instance, same first weights:", same)
assert not same and count_params(other) == count_params(net)

# %% [markdown]
# ## How a module finds its parts
#
# We never told the module that `hidden` is one of its layers.
# It noticed, because `nn.Module` overrides what an assignment to an attribute does.
# Python turns `self.hidden = value` into the call `__setattr__("hidden", value)`, and there PyTorch looks at the type of the value:
#
# | value | goes to | trained | saved | moved by `.to()` |
# | --- | --- | --- | --- | --- |
# | an `nn.Parameter` | `_parameters` | yes | yes | yes |
# | an `nn.Module` | `_modules` | its parameters | its parameters and buffers | its parameters and buffers |
# | a tensor handed to `register_buffer` | `_buffers` | no | yes | yes |
# | anything else: number, plain tensor, list, dictionary | ordinary attribute | no | no | no |
#
# To put something into one of the first three places is called *registration*.
# (`register_buffer(..., persistent=False)` makes a buffer that is moved but not saved.)
# Everything that a module does with "all its parameters" is a walk through these three dictionaries, its own and those of its children.

# %%
print("own parameters:", list(net._parameters))
print("children:      ", list(net._modules))
print("in a child:    ", list(net.hidden._parameters))
assert list(net._modules) == ["hidden", "output"]

# %% [markdown]
# The dictionaries are created by the constructor of `nn.Module`.
# That is why `super().__init__()` comes first: without it there is no place to register a layer in.

# %%
# check 6.1-C4: without super().__init__() the first layer is refused
class Hasty(nn.Module):
    def __init__(self):
        self.hidden = nn.Linear(20, 256)

try:
    Hasty()
except AttributeError as error:
    message = str(error)
print(message)
assert "__init__" in message

# %% [markdown]
# This mistake is loud.
# The last row of the table holds the silent one.
# A Python list is "anything else", and what is inside it is never looked at:

# %%
class Hidden(nn.Module):
    """Layers in a container of type `box`: a list or nn.ModuleList."""

    def __init__(self, box):
        super().__init__()
        self.layers = box([nn.Linear(20, 256), nn.ReLU(),
                           nn.Linear(256, 10)])

    def forward(self, X):
        for layer in self.layers:
            X = layer(X)
        return X

# %%
# check 6.1-C3: a list hides its layers, a ModuleList shows them
in_list, in_module_list = Hidden(list), Hidden(nn.ModuleList)
for net in (in_list, in_module_list):
    print(tuple(net(X).shape), count_params(net), len(net.state_dict()))
assert in_list(X).shape == (2, 10)
assert count_params(in_list) == 0 and not in_list.state_dict()
assert count_params(in_module_list) == 7946
assert list(in_module_list.state_dict()) == [
    "layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]

# %% [markdown]
# Both networks compute an output of the right shape.
# But the first believes that it has no parameters, so nothing in it is trained, saved or moved.
# If *all* layers are hidden, the optimizer complains about an empty list.
# If only some are, nobody complains: the visible layers learn and the hidden ones keep their random weights ([Section 6.5](05-custom-layers.ipynb) shows what such a training looks like).
# `nn.ModuleList` behaves like a list and `nn.ModuleDict` like a dictionary, and both register what they hold.
# After writing a module, compare `count_params` with the count by hand; the comparison takes a minute and finds every layer with parameters that is hidden like this.
# (A hidden dropout layer has none, and is found only when it fails to react to `eval()`.)

# %% [markdown]
# ## The sequential module
#
# The most common module only chains others.
# It needs two things: to keep its parts in order, and to hand the output of each to the next, as in (6.1.1).
# The parts have no attribute names here, so we register them with `add_module` under the names "0", "1", and so on.

# %%
class MySequential(nn.Module):
    """Modules in a row: the output of each is the input of the next."""

    def __init__(self, *modules):
        super().__init__()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def forward(self, X):
        for module in self.children():  # in the order of registration
            X = module(X)
        return X

# %%
# check 6.1-C2: same names as nn.Sequential, with its state same outputs
def parts():
    return nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10)

mine, built_in = MySequential(*parts()), nn.Sequential(*parts())
assert list(mine.state_dict()) == list(built_in.state_dict())
assert not torch.equal(mine(X), built_in(X))
print(mine.load_state_dict(built_in.state_dict()))
torch.testing.assert_close(mine(X), built_in(X), rtol=0, atol=0)

# %% [markdown]
# The *state dictionary* of a module maps a name to each of its parameters and buffers.
# A name is the path to the tensor: `2.weight` is the parameter `weight` of the child `2`.
# Since our class uses the same names as `nn.Sequential`, each can load what the other has saved.

# %% [markdown]
# ## A call is more than `forward`
#
# We define `forward`, yet we write `net(X)`.
# The parentheses call the method `__call__` of `nn.Module`, which runs `forward` in the middle of something longer.
#
# ![Two ways through a module. The call net(X) enters a box named __call__ and passes forward pre-hooks, forward and forward hooks. The dashed way of net.forward(X) touches only forward in the middle.](img/call.svg)

# %% [markdown]
# **Figure 6.1.2.** A call runs the hooks before and after `forward`; calling `forward` directly skips them.
#
# A *hook* is a function that we attach to a module in order to watch its calls, without changing its class.
# A *forward hook* receives the module, its inputs and its output.
# `register_forward_hook` returns a handle, with which the hook can be removed again.

# %%
# check 6.1-C5: the hook fires for net(X) and not for net.forward(X)
net, calls = MLP(), []

def note(module, args, output):
    calls.append(tuple(output.shape))

handle = net.register_forward_hook(note)
net(X)
assert calls == [(2, 10)]
net.forward(X)
assert len(calls) == 1  # forward alone left no trace
handle.remove()
net(X)
assert len(calls) == 1  # and neither does a call without the hook

# %% [markdown]
# The outputs of both calls are equal, which is why the habit of calling `forward` survives.
# What breaks are the tools that rely on hooks: programs that measure activations or profile, pruning, and the lazy layers of [Section 6.4](04-lazy-initialization.ipynb), which get their sizes from a hook that runs before `forward`.
# So write `net(X)`, for submodules inside `forward` too.
#
# Hooks answer the most frequent question about a network that does not run: which shape arrives where?

# %%
def print_shapes(net, X):
    """Print the output shape of each innermost module, in call order."""
    handles = []
    for name, module in net.named_modules():
        if not list(module.children()):  # a leaf
            def show(module, args, output, name=name):
                kind = type(module).__name__
                print(f"{name:10} {kind:8} {tuple(output.shape)}")
            handles.append(module.register_forward_hook(show))
    try:
        return net(X)
    finally:  # remove the hooks even if the call fails
        for handle in handles:
            handle.remove()

# %%
print_shapes(in_module_list, X)
assert not any(m._forward_hooks for m in in_module_list.modules())

# %% tags=["hide-input"]
# check: the last line is the last layer that worked; no hook is left
broken = nn.Sequential(nn.Linear(20, 3), nn.ReLU(), nn.Linear(4, 1))
with contextlib.redirect_stdout(io.StringIO()) as printed:
    try:
        print_shapes(broken, X)
        passed_on = False
    except RuntimeError:
        passed_on = True
assert passed_on  # the error is not swallowed
assert printed.getvalue().split() == [
    "0", "Linear", "(2,", "3)", "1", "ReLU", "(2,", "3)"]
assert not any(m._forward_hooks for m in broken.modules())

# %% [markdown]
# Two details of `print_shapes` are worth copying.
# The argument `name=name` stores the present name in each hook; without it all hooks would print the last one, because a Python function looks up an outer variable when it runs, not when it is defined.
# And `finally` removes the hooks even if a layer refuses its input, which is when we need the function most: the last line printed is then the last layer that worked.

# %% [markdown]
# ## Any code in `forward`
#
# A sequence is the simplest flow of data.
# `forward` is an ordinary method, so it may also contain arithmetic, loops and conditions.
# The next module does four things that no sequence can do.
#
# First, it uses a *constant*: numbers that enter the computation but are not trained.
# In the smallest case that is
#
# $$
# f(\mathbf{x}, \mathbf{w}) = c \, \mathbf{w}^\top \mathbf{x}, \tag{6.1.3}
# $$
#
# where $\mathbf{x} \in \mathbb{R}^d$ is the input, $\mathbf{w} \in \mathbb{R}^d$ the parameters and $c \in \mathbb{R}$ a constant that no training step may change.
# Here the constant is a matrix of shape (20, 20) with random entries.
# Second, it uses one linear layer twice, with the same weights both times.
# Third, it halves the result until it is small, so that the number of steps depends on the data.
# Fourth, it returns a single number.

# %%
class FixedHiddenMLP(nn.Module):
    """Constant weights in the middle: (n, 20) -> ()."""

    def __init__(self):
        super().__init__()
        self.register_buffer("const", torch.rand(20, 20))
        self.linear = nn.Linear(20, 20)

    def forward(self, X):
        X = self.linear(X)  # (n, 20)
        X = F.relu(X @ self.const + 1)  # not trained
        X = self.linear(X)  # the same layer again
        while X.abs().sum() > 1:
            X = X / 2
        return X.sum()  # ()

# %% [markdown]
# What can we say about the output without running it?
# The loop ends with an array $\mathbf{Z} \in \mathbb{R}^{n \times 20}$ whose $\ell_1$ norm, the sum of the absolute values of all entries, is at most 1.
# By the triangle inequality
#
# $$
# \Bigl|\sum_{i,j} z_{ij}\Bigr| \le \sum_{i,j} |z_{ij}| = \|\mathbf{Z}\|_1 \le 1, \tag{6.1.4}
# $$
#
# where $z_{ij}$ is the entry of $\mathbf{Z}$ in row $i$ and column $j$, so the output lies between $-1$ and $1$ for any input.
# The layer counts once although it is used twice: there are $20 \cdot 20 + 20 = 420$ parameters.
#
# The constant is a *buffer*: a tensor that belongs to the state of the module, so that it is saved and moved with it, but that no optimizer sees.
# A plain attribute would do in the first experiment and fail later.
# It stays behind when the module moves to another type or device, and a saved model comes back with other random numbers in its place.

# %%
# check 6.1-C6: 420 parameters, a bounded scalar, the constant a buffer
class PlainConstant(FixedHiddenMLP):
    def __init__(self):
        super().__init__()
        const = self.const
        del self.const
        self.const = const  # now an ordinary attribute

torch.manual_seed(0)
net, plain = FixedHiddenMLP(), PlainConstant()
out = net(X)
out.backward()
assert count_params(net) == 420
assert out.shape == () and out.abs() <= 1
assert "const" in net.state_dict() and "const" not in plain.state_dict()
assert net.const.grad is None and not net.const.requires_grad
W, b = net.linear.weight, net.linear.bias
H = (10 * X @ W.T + b) @ net.const + 1
Z = F.relu(H) @ W.T + b  # (2, 20), before the loop
assert H.min() < 0 and Z.abs().sum() > 1
torch.testing.assert_close(
    net(10 * X), Z.sum() / 2 ** torch.log2(Z.abs().sum()).ceil())
with torch.no_grad():  # no negative entries: (6.1.4) is tight
    for p in net.parameters():
        p.abs_()
assert 0.5 < net(X.abs()) <= 1
with torch.no_grad():  # with zero weights the loop gets the bias alone
    net.linear.weight.zero_()
    for start, end in ((-1.0, -1.0), (2.0, 1.0), (-3.0, -0.75), (5.0, 0.625)):
        net.linear.bias.zero_()[0] = start
        assert net(X[:1]) == end  # halved until the absolute sum is <= 1
assert net.to(torch.float64).const.dtype == torch.float64
assert plain.to(torch.float64).const.dtype == torch.float32

# %% [markdown]
# The module whose constant stayed behind does not run any more, since one of the factors has another type:

# %%
try:
    plain(X.to(torch.float64))
    failed = False
except RuntimeError as error:  # its text differs between versions
    failed = "dtype" in str(error)
print("the module with a plain constant fails:", failed)
assert failed
assert net(X.to(torch.float64)).dtype == torch.float64

# %% [markdown]
# ### A loop in the network
#
# The number of halvings is a function of the data.
# For an array $\mathbf{X}$ of any shape it is
#
# $$
# k(\mathbf{X}) = \min \{\, j \ge 0 : 2^{-j} \|\mathbf{X}\|_1 \le 1 \,\}, \qquad
# g(\mathbf{X}) = 2^{-k(\mathbf{X})} \sum_{i,j} x_{ij}. \tag{6.1.5}
# $$
#
# $k$ is a nonnegative integer, $g$ the number that the loop and the final sum compute, and $x_{ij}$ an entry of $\mathbf{X}$.
# Autograd records the divisions that took place, not the condition that decided on them.
# It therefore treats $k$ as fixed and finds the derivative $2^{-k}$ with respect to each entry.
# For almost every input that is right, since a small change of $\mathbf{X}$ does not change $k$.

# %%
def halve(x):
    """The loop of FixedHiddenMLP; x may have any shape."""
    while x.abs().sum() > 1:
        x = x / 2
    return x.sum()

xs = torch.linspace(0.01, 5.99, 300).requires_grad_()
ys = torch.stack([halve(x) for x in xs])
slopes, = torch.autograd.grad(ys.sum(), xs)

fig, axes = plt.subplots(2, 1, sharex=True, figsize=(5.0, 3.6))
d2l.plot(xs, ys, ylabel="$g(x)$", fmts=["."], ax=axes[0])
d2l.plot(xs, slopes, xlabel="input $x$", ylabel="$g'(x)$",
         fmts=["."], ylim=(0, 1.1), ax=axes[1])
d2l.describe(fig, """Above, the loop's result rises from 0 to 1, then
jumps down to one half just behind x = 1, 2 and 4 and rises again, each
time half as steep. Below, its gradient is 1, 1/2, 1/4, 1/8 in steps.""")

# %% [markdown]
# **Figure 6.1.3.** A loop that depends on the data makes the network a function in pieces.
# Within a piece the gradient is exact; of the jumps it knows nothing.

# %%
# check: the gradient is 2^-k with k from (6.1.5)
k = torch.log2(xs.detach()).ceil().clamp(min=0)
torch.testing.assert_close(slopes, 2.0 ** -k)
torch.testing.assert_close(ys, xs * 2.0 ** -k)
assert [halve(torch.tensor(x)) for x in (-1.0, 2.0, 4.0)] == [-1, 1, 1]
batch = torch.tensor([0.5, -6.0])  # alone, the first entry is not halved
assert halve(batch[0]) == 0.5 and halve(batch) == batch.sum() / 8
assert halve(torch.ones(2, 3)) == 6 / 8

# %% [markdown]
# Two properties of such a loop are easy to miss.
# The norm is taken over the whole minibatch, so the scale of one example depends on the others: an example alone and the same example in a batch are in general halved different numbers of times.
# And a `while` loop need not end: half of infinity is infinity, so one overflow in `X` makes this module run forever.
# Give a loop in a real network an upper limit on its number of rounds.

# %% [markdown]
# ### One layer in two places
#
# When a layer is used twice, which of the two uses does its gradient belong to?
# Give the two uses different names, $f(\mathbf{x}) = h\bigl(\phi(h(\mathbf{x}; \theta^{(1)})); \theta^{(2)}\bigr)$, and set both equal to $\theta$ afterwards.
# The chain rule for a function of two arguments that both depend on $\theta$ gives
#
# $$
# \nabla_\theta L = \nabla_{\theta^{(1)}} L + \nabla_{\theta^{(2)}} L. \tag{6.1.6}
# $$
#
# $L$ is the loss, a number; $h$ is the layer, $\phi$ what lies between its two uses; $\theta$, $\theta^{(1)}$ and $\theta^{(2)}$ have the shape of the layer's parameters, and both gradients on the right are taken at $\theta^{(1)} = \theta^{(2)} = \theta$.
# The gradient belongs to both uses: each contributes its part, and autograd adds them.
# We can verify it with two copies of the layer, each of which is used once.

# %%
# check 6.1-C8: the gradient of a layer used twice is a sum of two
torch.manual_seed(1)
twice = nn.Linear(20, 20, dtype=torch.float64)
first, second = copy.deepcopy(twice), copy.deepcopy(twice)
X64 = X.to(torch.float64)

twice(F.relu(twice(X64))).square().sum().backward()
second(F.relu(first(X64))).square().sum().backward()
for p, p1, p2 in zip(twice.parameters(), first.parameters(),
                     second.parameters()):
    torch.testing.assert_close(p.grad, p1.grad + p2.grad)
    assert not torch.allclose(p.grad, p1.grad)

# %% [markdown]
# ## Modules in modules
#
# Our modules can be parts of others, on any level.
# `NestMLP` holds a sequence and a layer:

# %%
class NestMLP(nn.Module):
    """A sequence, then a layer: (n, 20) -> (n, 16)."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(),
                                 nn.Linear(64, 32), nn.ReLU())
        self.linear = nn.Linear(32, 16)

    def forward(self, X):
        return self.linear(self.net(X))

# %% [markdown]
# The chimera of Greek myth was composed of a lion, a goat and a snake.
# Ours is composed of `NestMLP`, an ordinary layer from 16 to 20 features, and `FixedHiddenMLP`.
# By (6.1.2) it has $(20 \cdot 64 + 64) + (64 \cdot 32 + 32) + (32 \cdot 16 + 16) = 3952$ parameters in the first part, $16 \cdot 20 + 20 = 340$ in the second and 420 in the third, together 4712.

# %%
# check 6.1-C7: 4712 parameters, 20 features become one number
torch.manual_seed(0)
chimera = nn.Sequential(NestMLP(), nn.Linear(16, 20), FixedHiddenMLP())
assert [count_params(part) for part in chimera] == [3952, 340, 420]
assert count_params(chimera) == 4712
assert chimera(X).shape == ()
assert (chimera[0].net(X) >= 0).all()  # a ReLU comes last

# %% [markdown]
# Three methods walk through the tree of modules.
# `children()` yields the direct parts only; `modules()` yields the module itself, its parts, their parts, and so on; `named_modules()` yields them with their paths.
# A module that occurs in two places appears once.

# %%
num_children = len(list(chimera.children()))
num_modules = len(list(chimera.modules()))
print(num_children, "children,", num_modules, "modules")
assert num_children == 3 and num_modules == 11
assert chimera.get_submodule("0.net.2").out_features == 32

# %% [markdown]
# A path such as `0.net.2` tells where a module is: as many names as there are levels above it.
# That is all we need to draw the tree.

# %% tags=["hide-input"]
def draw_tree(net, ax):
    """Draw the modules of `net`, one a row, indented by their depth."""
    rows = {}
    for y, (name, module) in enumerate(net.named_modules()):
        depth = len(name.split(".")) if name else 0
        rows[name] = (depth, y)
        if name:
            x0, y0 = rows[name.rpartition(".")[0]]
            ax.plot([x0, x0, depth - 0.1], [y0 + 0.3, y, y], color="0.6",
                    lw=1)
        label = f"{name.rpartition('.')[2]}: " if name else ""
        ax.text(depth, y, label + type(module).__name__, va="center")
        ax.text(6.2, y, f"{count_params(module):,}", va="center",
                ha="right")
    ax.set(xlim=(-0.3, 6.3), ylim=(len(rows) - 0.5, -1.5))
    ax.text(6.2, -1, "parameters", va="center", ha="right", color="0.4")
    ax.axis("off")
    return rows

# %%
fig, ax = plt.subplots(figsize=(5.0, 3.8))
rows = draw_tree(chimera, ax)
assert len(rows) == num_modules
d2l.describe(ax, """Tree of the chimera. The root, a Sequential with
4,712 parameters, has the children 0, a NestMLP with 3,952, 1, a Linear
with 340, and 2, a FixedHiddenMLP with 420. NestMLP contains net, a
Sequential of Linear, ReLU, Linear, ReLU, and linear, a Linear.""")

# %% [markdown]
# **Figure 6.1.4.** The chimera, drawn from `named_modules()`.
# The number in each row counts the parameters of the module and of all below it; the numbers of the children add up to that of the parent.
#
# Many methods of `nn.Module` walk this tree.
# `parameters()`, `state_dict()` and `to()` do, and so do `train()` and `eval()`, which set the attribute `training` of every module; layers that behave differently in training and in use, such as dropout, read it.
# A module hidden in a list is not in the tree, so `eval()` does not reach it: it stays in training mode.

# %%
chimera.eval()
assert not any(module.training for module in chimera.modules())
chimera.train()
assert all(module.training for module in chimera.modules())

in_list.eval()
print("hidden layers in training mode:",
      all(layer.training for layer in in_list.layers))
assert all(layer.training for layer in in_list.layers)

# %% [markdown]
# ## Summary
#
# - Neuron, layer, block and model have one signature; a module made of modules is a module.
# - Registration happens at assignment: parameters, modules and buffers are found; lists and plain tensors are not, and as a rule nothing warns you.
# - Trained, saved and moved: a parameter. Saved and moved: a buffer. None of them: an attribute.
# - `net(X)` runs hooks around `forward`; `net.forward(X)` skips them.
# - `forward` may hold any Python code. Autograd differentiates the steps that were taken, and adds the gradients of a layer that is used several times.
# - Compare `count_params` with a count by hand: a cheap test of an architecture.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 6.1-1
#
# Break `MySequential`: let it keep its parts in a Python list.
# Which of these still work: the forward pass, training, saving, moving to another type, switching to `eval()`?
# Predict the answers, then test each of them.

# %% [markdown]
# #### Solution 6.1-1

# %% [markdown]
# Only the forward pass works.
# The four others walk the tree of modules, and the tree has no branches.

# %%
class ListSequential(nn.Module):
    def __init__(self, *modules):
        super().__init__()
        self.parts = list(modules)

    def forward(self, X):
        for module in self.parts:
            X = module(X)
        return X

broken = ListSequential(nn.Linear(20, 256), nn.Dropout(), nn.Linear(256, 10))
assert broken(X).shape == (2, 10)

# %%
try:
    torch.optim.SGD(broken.parameters(), lr=0.1)
except ValueError as error:
    print("training:", error)
broken.to(torch.float64).eval()
print("saved entries:", len(broken.state_dict()))
print("type after moving:", broken.parts[0].weight.dtype)
print("dropout in training mode:", broken.parts[1].training)
assert count_params(broken) == 0 and not broken.state_dict()
assert broken.parts[0].weight.dtype == torch.float32
assert broken.parts[1].training

# %% [markdown]
# ### Exercise 6.1-2
#
# Write `Parallel(net1, net2)`: it passes the same input through both modules and concatenates their outputs along the last axis.
# What is the shape of the output, and how many parameters are there, for linear layers from 20 to 3 and from 20 to 4 features?

# %% [markdown]
# #### Solution 6.1-2

# %% [markdown]
# The output has $3 + 4 = 7$ features.
# There are $(20 \cdot 3 + 3) + (20 \cdot 4 + 4) = 147$ parameters, as many as in one layer from 20 to 7 features; in fact the two are the same function if the rows of their weights are.

# %%
class Parallel(nn.Module):
    """Outputs of two modules side by side: (..., a), (..., b) -> a + b."""

    def __init__(self, net1, net2):
        super().__init__()
        self.net1, self.net2 = net1, net2

    def forward(self, X):
        return torch.cat((self.net1(X), self.net2(X)), dim=-1)

net = Parallel(nn.Linear(20, 3), nn.Linear(20, 4))
assert net(X).shape == (2, 7) and count_params(net) == 147
W = torch.cat((net.net1.weight, net.net2.weight))  # (7, 20)
b = torch.cat((net.net1.bias, net.net2.bias))  # (7,)
torch.testing.assert_close(net(X), F.linear(X, W, b))

# %% [markdown]
# ### Exercise 6.1-3
#
# Write a factory `repeat(make_block, k)` that returns a sequence of $k$ blocks with fresh parameters.
# What is wrong with `nn.Sequential(*[block] * k)`?
# Compare the numbers of parameters.

# %% [markdown]
# #### Solution 6.1-3

# %% [markdown]
# `[block] * k` is a list of $k$ references to one block.
# The sequence applies it $k$ times with the same weights, and there are $p$ parameters rather than $kp$.
# The factory must therefore receive a function that *makes* a block and call it $k$ times.

# %%
def repeat(make_block, k):
    return nn.Sequential(*[make_block() for _ in range(k)])

def make_block():
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU())

k, p = 5, count_params(make_block())
fresh, shared = repeat(make_block, k), nn.Sequential(*[make_block()] * k)
print(count_params(fresh), count_params(shared))
assert count_params(fresh) == k * p and count_params(shared) == p
assert len(fresh) == len(shared) == k
assert shared[0] is shared[k - 1] and fresh[0] is not fresh[k - 1]

# %% [markdown]
# ### Exercise 6.1-4
#
# Write a wrapper that turns a module $f$ into $\mathbf{x} \mapsto \mathbf{x} + f(\mathbf{x})$.
# Which condition must $f$ fulfil?
# Show that the wrapped module is the identity if the last layer of $f$ has weights and biases 0, and that it can learn nevertheless.

# %% [markdown]
# #### Solution 6.1-4

# %% [markdown]
# The output of $f$ must have the shape of its input.
# With a last layer of zeros $f(\mathbf{x}) = \mathbf{0}$ for all inputs.
# The gradient of that layer is not zero, because its inputs, the hidden activations, are not.

# %%
class Residual(nn.Module):
    """x + f(x); the output of f has the shape of its input."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, X):
        return X + self.f(X)

torch.manual_seed(0)
net = Residual(MLP(20, 64, 20))
nn.init.zeros_(net.f.output.weight)
nn.init.zeros_(net.f.output.bias)
assert torch.equal(net(X), X)
net(X).square().sum().backward()
assert net.f.output.weight.grad.abs().max() > 0
assert not net.f.hidden.weight.grad.any()

torch.optim.SGD(net.parameters(), lr=0.1).step()
assert not torch.equal(net(X), X)
torch.testing.assert_close(net(X), X + net.f(X))
net(X).square().sum().backward()
assert net.f.hidden.weight.grad.any()

# %% [markdown]
# The gradient of the *hidden* layer is 0 in the first step, since the way back to it leads through the zero weights; after one step of the last layer it is not any more.
# Such wrapped modules are the parts that very deep networks such as ResNet-152 repeat.

# %% [markdown]
# ### Exercise 6.1-5
#
# Write a context manager `record_means(net)` that records the mean activation of every leaf module by hooks.
# How many entries do you expect for a network without reuse?
# What happens with the chimera?

# %% [markdown]
# #### Solution 6.1-5

# %% [markdown]
# A network that calls each of its leaves gives as many entries as there are leaves.
# In the chimera the layer `2.linear` is called twice.
# A dictionary from names to numbers would keep the second value and lose the first, so we collect lists.

# %%
class record_means:
    def __init__(self, net):
        self.net, self.means = net, {}

    def hook(self, name):
        def append(module, args, output):
            self.means.setdefault(name, []).append(output.mean().item())
        return append

    def __enter__(self):
        self.handles = [m.register_forward_hook(self.hook(name))
                        for name, m in self.net.named_modules()
                        if not list(m.children())]
        return self.means

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()

# %%
for net in (nn.Sequential(*parts()), chimera):
    leaves = [m for m in net.modules() if not list(m.children())]
    with record_means(net) as means:
        net(X)
    print(len(leaves), "leaves:", {k: len(v) for k, v in means.items()})
    assert len(means) == len(leaves)
    assert next(iter(means.values())) == [leaves[0](X).mean().item()]
assert len(means["2.linear"]) == 2 and len(means["0.linear"]) == 1
assert not any(m._forward_hooks for m in chimera.modules())

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342), chapter on the builders' guide: the examples `MLP`, `MySequential`, `FixedHiddenMLP`, `NestMLP` and the chimera.
# - K. He, X. Zhang, S. Ren, J. Sun (2016). Deep residual learning for image recognition. [arXiv:1512.03385](https://arxiv.org/abs/1512.03385): networks of 152 layers made of repeated blocks.
# - A. Paszke et al. (2019). PyTorch: an imperative style, high-performance deep learning library. [arXiv:1912.01703](https://arxiv.org/abs/1912.01703): models as ordinary Python programs.
# - PyTorch documentation, [torch.nn.Module](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html): registration, buffers, hooks, traversal.
# - PyTorch documentation, [modules](https://docs.pytorch.org/docs/stable/notes/modules.html): what a module is and what it does for its owner.
