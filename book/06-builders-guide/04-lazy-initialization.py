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
# # 6.4 Lazy initialization
#
# In earlier chapters we built networks without saying how many inputs a layer has, and they ran.
# When do the weights of such a layer come into being, and what happens to code that touches them too early?
# The answers decide whether your initialization has any effect, and one of the failures is silent.
#
# **You will**
#
# - leave input sizes to PyTorch and say at which moment each parameter gets its shape;
# - prepare any model for training in the right order: dry run, initializer, optimizer;
# - recognize four traps, among them an initializer that does nothing and statistics that are wrong before training starts;
# - compute shapes and parameter counts of networks that do not fit into memory.
#
# **Cost**: a few seconds on a CPU, no download, no use for a GPU.

# %%
import copy

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.linear_regression import Module

d2l.use_style()

# %% [markdown]
# ## Layers without input sizes
#
# Three things in the following line ought to be impossible.
# The network is told nothing about its input.
# Its second layer is added without knowledge of the output size of the first.
# And both layers exist, although nobody can say how many parameters they have.

# %%
def make_lazy():
    return nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10))


net = make_lazy()
print(net)
print("weight of the first layer:", net[0].weight)

# %% [markdown]
# The trick is to put the decision off.
# A *lazy* layer stores its output size and waits.
# Its weight is a placeholder of type `UninitializedParameter`, without shape and without values.
# The first batch that arrives settles the question, layer by layer:
#
# $$
# n_\mathrm{in}^{(l)} = \operatorname{dim}\bigl(\mathbf{h}^{(l-1)}\bigr), \qquad
# \mathbf{W}^{(l)} \in \mathbb{R}^{n_\mathrm{out}^{(l)} \times n_\mathrm{in}^{(l)}}, \qquad
# \mathbf{h}^{(0)} = \mathbf{x}. \tag{6.4.1}
# $$
#
# Here $\mathbf{h}^{(l-1)}$ is the vector that reaches layer $l$, $\operatorname{dim}$ is the number of its entries, $n_\mathrm{out}^{(l)}$ is the number of outputs that the constructor was given, and $\mathbf{W}^{(l)}$ is the weight matrix.
# PyTorch does not look ahead: layer 2 waits until the output of layer 1 arrives, so the shapes need a forward pass.
# A pass that is made for this purpose only, with its output thrown away, is a *dry run*.

# %%
X = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
placeholder = net[0].weight
before = type(placeholder)
torch.manual_seed(0)
net(X)  # the dry run
print(net)
print(tuple(net[0].weight.shape), tuple(net[2].weight.shape),
      count_params(net), "parameters")

# %% [markdown]
# Even the class of the layers has changed: after the dry run nothing tells them from layers that were given their sizes.

# %%
# check 6.4-C1: a placeholder before; shapes, class and count after
assert before is UninitializedParameter
assert net[0].weight.shape == (256, 20)
assert net[2].weight.shape == (10, 256)
assert type(net[0]) is nn.Linear and type(net[2]) is nn.Linear
assert type(net[0].weight) is nn.Parameter
assert count_params(net) == 7946
assert net[0].weight is placeholder  # the same object, now with values

# %% [markdown]
# ![A timeline with four steps, construct, dry run, initialize, optimizer. Two layers are shown below each step: first LazyLinear without shape and values, then Linear with shape and default values, then with your values, then changing in training. Only from the dry run on can the parameters be counted: 7946.](img/lazy-timeline.svg)

# %% [markdown]
# **Figure 6.4.1.** The life of lazy parameters.
# The dry run gives them shape, class and default values; what you do to them before it has no effect or fails.
#
# It helps to be able to ask whether a module still waits for its first batch.

# %%
def is_lazy(net):
    """Whether some parameter or buffer of the module has no shape yet."""
    tensors = [*net.parameters(), *net.buffers()]
    return any(nn.parameter.is_lazy(tensor) for tensor in tensors)


assert is_lazy(make_lazy())
assert is_lazy(nn.LazyBatchNorm1d(affine=False))  # buffers alone
assert not is_lazy(net) and not is_lazy(nn.ReLU())

# %% [markdown]
# We can watch the pass do its work.
# A forward hook ([Section 6.1](01-layers-and-modules.ipynb)) on each layer reports which layers are still waiting when it has finished.

# %%
net = make_lazy()
handles = [layer.register_forward_hook(
    lambda module, args, out: print(
        f"{type(module).__name__:10s} is done, {str(tuple(out.shape)):8s}"
        f" waiting: {[i for i in range(3) if is_lazy(net[i])]}"))
    for layer in net]
net(X)
for handle in handles:
    handle.remove()

# %% [markdown]
# Sizes that are known may be given, and the two kinds mix.
# A layer with its input size exists at once, with its neighbour still open.

# %%
# check 6.4-C5: an explicit first layer exists at once, the second not
mixed = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.LazyLinear(10))
assert mixed[0].weight.shape == (256, 20)
assert not is_lazy(mixed[0]) and is_lazy(mixed[2])
kept = mixed[0].weight.detach().clone()
mixed(X)
assert mixed[2].weight.shape == (10, 256) and not is_lazy(mixed)
assert torch.equal(mixed[0].weight, kept)  # the dry run changes nothing

# %% [markdown]
# ### Why a placeholder
#
# The idea fits in ten lines, so why does PyTorch need a new kind of parameter for it?
# Here are the ten lines.

# %%
class HomemadeLazy(nn.Module):
    """A linear layer that creates its weights at the first call."""

    def __init__(self, num_outputs):
        super().__init__()
        self.num_outputs, self.layer = num_outputs, None

    def forward(self, X):
        if self.layer is None:
            self.layer = nn.Linear(X.shape[-1], self.num_outputs)
        return self.layer(X)

# %%
net = HomemadeLazy(3)
early = list(net.parameters())
net(X)
late = list(net.parameters())
print("parameters before and after the first call:", len(early), len(late))
assert len(early) == 0 and len(late) == 2

# %% [markdown]
# An optimizer, the code that loads a file, a count: if they collect the parameters before the first call, they get an empty list.
# None of them learns of the weights that appear later.
# The placeholder repairs that.
# It is in the list from the beginning, and the dry run fills in the *same object*, as the last line of check C1 shows.
# So an optimizer that was created too early keeps working:

# %%
# check 6.4-C7: SGD created before the dry run still trains the weights
torch.manual_seed(0)
net = make_lazy()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loss = net(X).square().mean()
start = [p.detach().clone() for p in net.parameters()]
loss.backward()
optimizer.step()
for p, old in zip(net.parameters(), start):
    assert not torch.equal(p, old)
print(f"loss {loss.item():.3f} -> {net(X).square().mean().item():.3f}")
try:  # Adagrad makes its state at once, in the shape of the parameters
    torch.optim.Adagrad(make_lazy().parameters())
    refused = False
except ValueError as error:
    refused = "uninitialized parameter" in str(error)
assert refused

# %% [markdown]
# Do not build on it.
# The documentation asks for the dry run first, and an optimizer that looks at its parameters in the constructor fails on placeholders, as Adagrad does above.
#
# The lazy network gives the same numbers as the explicit one, provided that the seed is set in the right place.
# Random numbers are drawn when parameters get their values: for an explicit layer at construction, for a lazy one in the dry run.

# %%
torch.manual_seed(1)
explicit = nn.Sequential(nn.Linear(20, 256), nn.ReLU(),
                         nn.Linear(256, 10))
lazy = make_lazy()
torch.manual_seed(1)  # after the construction, before the dry run
lazy(X)
for p, q in zip(lazy.parameters(), explicit.parameters()):
    assert torch.equal(p, q)

# %% [markdown]
# ### What it is good for
#
# For a perceptron we save little, since its sizes are in plain view.
# Convolutional networks (Chapter 7) are different.
# They end in a linear layer whose input is the image that the convolutions have left, flattened into a vector.
# Its length depends on all layers before and on the resolution.
# A $k \times k$ convolution without padding turns a side of $s$ pixels into $s-k+1$, and pooling over $2 \times 2$ windows halves that, rounded down.
# After two rounds with $k=5$ and 16 channels in the second,
#
# $$
# n_\mathrm{in} = 16\,t^2, \qquad t = \left\lfloor\frac12\left(\left\lfloor\frac{s-4}{2}\right\rfloor - 4\right)\right\rfloor. \tag{6.4.2}
# $$
#
# Here $s$ is the side of the square input in pixels, $t$ the side of what is left, and $\lfloor\cdot\rfloor$ rounds down.
# For $s=28$ we get $t=4$ and 256 inputs; for $s=96$ it is $t=21$ and 7056.
# Every change of a layer or of the resolution changes the formula; with lazy layers the same code serves all.

# %%
def make_conv(num_classes=10):
    return nn.Sequential(
        nn.LazyConv2d(6, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2),
        nn.LazyConv2d(16, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.LazyLinear(120), nn.ReLU(),
        nn.LazyLinear(num_classes))


for side, expected in ((28, 256), (96, 7056)):
    net = make_conv()
    net(torch.zeros(1, 1, side, side))
    print(f"{side} x {side}:", net[7], count_params(net), "parameters")
    assert net[7].in_features == expected == 16 * (
        ((side - 4) // 2 - 4) // 2) ** 2

# %% [markdown]
# ## Dry run, then initialize
#
# The following function does the first two steps of Figure 6.4.1 in the right order.
# It takes a model, its inputs as a list, because some models have several, and an initializer as in [Section 6.3](03-initialization.ipynb).

# %% tags=["export"]
def apply_init(model, inputs, init=None):
    """Give lazy layers their shapes, then initialize; returns the model.

    `model` is any `nn.Module`; `inputs` is a list or tuple of the arguments
    of its `forward`, or one tensor. The dry run is in evaluation mode and
    without gradients; afterwards each part is in the mode that it had.
    `init(module)` is then called for every module inside the model,
    children first.
    """
    if isinstance(inputs, torch.Tensor):
        inputs = [inputs]
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        for module, training in modes.items():
            module.training = training
    return model if init is None else model.apply(init)

# %% [markdown]
# Three details are deliberate, and the next part says why.
# The pass runs in evaluation mode and without gradients.
# The mode is restored module by module, so that a part that you have put into evaluation mode stays there, and also if the pass fails.
# And the initializer comes second.
#
# It is a function rather than one more method of `Module` ([Section 3.2](../03-linear-regression/02-object-oriented-design.ipynb)), so it serves every `nn.Module`.
# Later chapters import it from `d2l_helpers.chapters.builders_guide`.
# Here we try it on a `Module` whose parts do not share one mode:

# %%
class LazyMLP(Module):
    """A lazy perceptron with batch normalization and dropout."""

    def __init__(self, num_outputs=10):
        super().__init__()
        self.net = nn.Sequential(
            nn.LazyLinear(256), nn.LazyBatchNorm1d(), nn.ReLU(),
            nn.Dropout(0.5), nn.LazyLinear(num_outputs))


def init_xavier(module):
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)


model = LazyMLP()
model.net[3].eval()  # a part with a mode of its own
torch.manual_seed(0)
apply_init(model, [X], init_xavier)
for name, p in model.named_parameters():
    print(f"{name:12s} {tuple(p.shape)}")

# %%
bound = (6 / (20 + 256)) ** 0.5  # of Xavier, for the first layer
assert 0.95 * bound < model.net[0].weight.abs().max() <= bound
assert model.training and model.net[1].training
assert not model.net[3].training  # as it was
assert model.net[0].weight.grad is None and not is_lazy(model)
recorded = []  # does the dry run record the way to a gradient?
hook = model.register_forward_hook(
    lambda module, inputs, output: recorded.append(output.requires_grad))
apply_init(model, X)
hook.remove()
assert recorded == [False] and model(X).requires_grad


class Difference(nn.Module):
    """A model with two inputs, of different widths."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.LazyLinear(1), nn.LazyLinear(1)

    def forward(self, X, Z):
        return self.left(X) - self.right(Z)


two = apply_init(Difference(), [X, X[:, :3]])
assert (two.left.in_features, two.right.in_features) == (20, 3)
try:  # a failing dry run restores the modes as well
    apply_init(model, torch.zeros(2, 21))
    failed = False
except RuntimeError:
    failed = True
assert failed and model.training and not model.net[3].training

# %% [markdown]
# ## Four traps
#
# ### An initializer that does nothing
#
# The rule "dry run, then initialize" is easily turned around, for instance by calling the initializer at the end of the constructor, where everything seems to be in place.
# Published teaching code does so; the constructor of the AlexNet in *Dive into Deep Learning* is an example: its Xavier initialization does not take place.
# We test it with an initializer that leaves unmistakable traces.

# %%
def init_constant(module):
    """All weights 1, for demonstrations only."""
    if type(module) == nn.Linear:
        nn.init.ones_(module.weight)


net = make_lazy()
net.apply(init_constant)  # too early
net(X)
print("initialized before the dry run, ones:",
      (net[0].weight == 1).sum().item(), "of", net[0].weight.numel())
other = make_lazy()
other(X)
other.apply(init_constant)
print("initialized after the dry run, ones: ",
      (other[0].weight == 1).sum().item(), "of", other[0].weight.numel())

# %%
# check 6.4-C2: too early, no weight is set; afterwards, all are
for i in (0, 2):
    assert not (net[i].weight == 1).any()
    assert (other[i].weight == 1).all()

# %% [markdown]
# There was neither an error nor a warning.
# At the time of the call both layers were of type `LazyLinear`, so the condition `type(m) == nn.Linear` was false everywhere, and the initializer had nothing to do.
# The network would now train with the default weights, and nobody is told.
#
# The test `isinstance(m, nn.Linear)` would have been better here, because `LazyLinear` is a subclass of `Linear`: it is true, the initializer touches the placeholder, and that raises.

# %%
def init_strict(module):
    if isinstance(module, nn.Linear):  # true for subclasses too
        nn.init.ones_(module.weight)


try:
    make_lazy().apply(init_strict)
except ValueError as error:
    message = str(error)
print(message.split(". ")[0])
assert "uninitialized parameter" in message

# %% [markdown]
# Write new initializers with `isinstance`, or with the guard of Exercise 6.4-4.
#
# ### A dry run that leaves traces
#
# Some layers change their state in a forward pass.
# Batch normalization (Chapter 8) keeps running averages of mean and variance of its inputs, which it uses when the model is evaluated.
# In training mode every pass updates them, and a dry run is a pass.
# Whether that happens depends on the mode alone:

# %%
def make_normalized():
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d())


torch.manual_seed(0)
batch = 100 + 10 * torch.randn(4, 20)  # whatever was at hand
for mode in ("train", "eval"):
    net = make_normalized()
    net.train(mode == "train")
    with torch.no_grad():
        net(batch)
    norm = net[1]
    print(f"{mode:5s} batches counted: {norm.num_batches_tracked.item()}, "
          f"running mean still 0: {not norm.running_mean.any().item()}")

# %%
# check 6.4-C3: training mode pollutes the statistics, eval mode does not
def statistics(training):
    net = make_normalized().train(training)
    with torch.no_grad():
        net(batch)
    return net[1].num_batches_tracked.item(), net[1].running_mean


count, mean = statistics(training=True)
assert count == 1 and mean.abs().max() > 0.1
net = make_normalized()
net(batch)  # new mean: 0.9 * 0 + 0.1 * mean of the batch
torch.testing.assert_close(net[1].running_mean,
                           0.1 * net[0](batch).mean(dim=0))
count, mean = statistics(training=False)
assert count == 0 and not mean.any()
model = apply_init(LazyMLP(), X)
assert model.net[1].num_batches_tracked == 0 and model.training

# %% [markdown]
# Note that `torch.no_grad()` alone does not help: it turns off the recording of gradients, not the update of buffers.
# By default the new running mean is nine tenths of the old one plus a tenth of that of the batch.
# A tenth of an arbitrary batch does not ruin a long training, since the average forgets.
# It does disturb a model that is evaluated early, or one whose statistics are loaded, frozen and trusted.
# Moreover, dropout draws random numbers in training mode, so that a dry run in that mode shifts all later ones; evaluation mode avoids this too.
#
# ### Asking too early
#
# Before the dry run, a count or a shape cannot be had.
# This trap is loud, and its message says what to do.

# %%
net = make_lazy()
for question in (lambda: net[0].weight.shape, lambda: count_params(net)):
    try:
        question()
    except (RuntimeError, ValueError) as error:
        kind, message = type(error).__name__, str(error)
    print(f"{kind}: {message.split('. ')[0][:50]} ...")
    assert "ninitialized parameter" in message

# %% [markdown]
# ### The first batch decides
#
# A layer is lazy only once.
# The width of the first batch becomes the width of the layer, and another width fails, like with a layer whose size was given.
# If the dry run had the wrong shape, the mistake is thus discovered only at the first correct batch.
#
# Lazy layers also change *when* mistakes are found, compared to what one may expect from explicit sizes.
# Sizes that contradict each other, here 256 outputs and 128 inputs, are not compared at construction: `Sequential` does not know what its parts mean.
# They fail in the first forward pass.

# %%
# check 6.4-C4: another width fails; a mismatch fails only in forward
net = make_lazy()
net(X)
mismatch = nn.Sequential(nn.Linear(20, 256), nn.ReLU(),
                         nn.Linear(128, 10))  # no error here
messages = []
for broken, inputs in ((net, torch.zeros(2, 21)), (mismatch, X)):
    try:
        broken(inputs)
    except RuntimeError as error:
        messages.append(str(error))
        print(error)
assert "2x21" in messages[0] and "2x256 and 128x10" in messages[1]

# %% [markdown]
# With `LazyLinear(10)` as its last layer the second network could not have had the mistake: a number that is not written down cannot be wrong.
#
# ## Shapes without memory
#
# Lazy layers put off the *shape*, and with it the values.
# There is a second kind of deferral, which knows the shape and puts off only the *memory*.
# Tensors on the device `meta` have a shape and a type but no storage.
# Operations on them compute the shape of the result, and nothing else.

# %%
# check 6.4-C6: ten billion parameters, no memory
huge = nn.Linear(100_000, 100_000, device="meta")
assert count_params(huge) == 100_000**2 + 100_000 == 10_000_100_000
out = huge(torch.empty(64, 100_000, device="meta"))
assert out.shape == (64, 100_000)
assert huge.weight.is_meta and out.is_meta
storage = huge.weight.untyped_storage()
assert storage.data_ptr() == 0  # there is no memory behind it
print(f"{count_params(huge):,} parameters would need "
      f"{huge.weight.nbytes / 1e9:.0f} GB")

# %% [markdown]
# The two kinds of deferral combine.
# `torch.device("meta")` as a context makes everything inside it a meta tensor, the placeholders of lazy layers included.
# So a dry run with an empty batch tells the size of a network for any input without allocating its weights.
# We ask how the small convolutional network grows with the resolution.

# %%
def meta_params(make, *shape):
    """Parameters of a lazy network for inputs of a shape, no memory."""
    with torch.device("meta"):
        net = make()
        net.eval()(torch.empty(1, *shape))
    return count_params(net)


sides = [28, 64, 96, 128, 224, 512, 1024]
counts = [meta_params(make_conv, 1, side, side) for side in sides]
linear = [120 * 16 * (((side - 4) // 2 - 4) // 2) ** 2 for side in sides]
_, ax = plt.subplots()
ax.plot(sides, counts, "o-", label="all parameters")
ax.plot(sides, linear, "s--", mfc="none",
        label="weights of the first linear layer")
ax.set(xscale="log", yscale="log", xlabel="side of the image in pixels",
       ylabel="number of parameters")
ax.legend()
d2l.describe(ax, """Number of parameters against the side of the image on
    logarithmic axes. The total rises from about 35 thousand at 28 pixels
    to over 100 million at 1024 pixels. The weights of the first linear
    layer, dashed, nearly coincide with it from 64 pixels on.""")

# %% [markdown]
# **Figure 6.4.2.** Parameters of one and the same lazy network for images of several sizes, computed without memory.
# From 64 pixels on, more than nine tenths of them sit in the first linear layer, whose input grows with the square of the side; the parameters of the convolutions do not depend on the resolution.

# %%
net = make_conv()
net(torch.zeros(1, 1, 96, 96))
assert counts[2] == count_params(net)  # the count on the CPU
assert meta_params(make_normalized, 20) == (20 * 8 + 8) + 2 * 8
shares = [a / b for a, b in zip(linear, counts)]
assert 0.9 < shares[1] < 1 and all(0.98 < s < 1 for s in shares[2:])
assert counts[-1] > 1e8

# %% [markdown]
# A meta model cannot be moved to a real device by `.to`, since there are no values to copy.
# `to_empty` allocates memory with arbitrary content; after it *every* parameter and buffer must be set, by an initializer or from a file.
# In this way large models can be loaded: build them without memory, allocate once, fill from the file.
# `load_state_dict(state, assign=True)` does without the allocation: the tensors of the file become the parameters.

# %%
net = nn.Linear(4, 3, device="meta")
try:
    net.to("cpu")
except NotImplementedError as error:
    print(str(error).split("!")[0])
torch.manual_seed(0)
net = net.to_empty(device="cpu")
net.reset_parameters()  # arbitrary content until here
assert net.weight.device.type == "cpu" and net.weight.abs().max() <= 0.5

other = nn.Linear(4, 3, device="meta")
other.load_state_dict(net.state_dict(), assign=True)
assert torch.equal(other.weight, net.weight) and other.weight.requires_grad

# %% [markdown]
# ## Summary
#
# - A lazy layer holds placeholders; the first forward pass gives them shape, class and default values, layer by layer.
# - The order is dry run, initializer, optimizer; `apply_init` does the first two, in evaluation mode and without gradients.
# - An initializer with `type(m) == nn.Linear` passes over lazy layers in silence; with `isinstance` it raises.
# - In training mode a dry run changes the statistics of batch normalization, `no_grad` or not.
# - Random numbers are drawn in the dry run, so the seed belongs before it.
# - The device `meta` gives shapes and counts without memory, for lazy networks too.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 6.4-1
#
# Give the input size to the first layer of a network with three linear layers and leave the others lazy.
# What is initialized at once?
# What if you give it to the second layer only?

# %% [markdown]
# #### Solution 6.4-1

# %% [markdown]
# Exactly the layers with a known input size exist at once, wherever they stand.
# A known size in the middle does not help its neighbours: the layer after it could know its input size from `out_features`, but nobody tells it before data arrive.

# %%
def state(*layers):
    net = nn.Sequential(*layers)
    before = [not is_lazy(layer) for layer in net]
    net(X)
    assert not is_lazy(net)
    return before


first = state(nn.Linear(20, 64), nn.LazyLinear(32), nn.LazyLinear(10))
second = state(nn.LazyLinear(64), nn.Linear(64, 32), nn.LazyLinear(10))
print("exists at once:", first, second)
assert first == [True, False, False] and second == [False, True, False]

# %% [markdown]
# ### Exercise 6.4-2
#
# A network has explicit layers with 20 inputs and 256 outputs, then 128 inputs and 10 outputs.
# When does it fail, in which operation, and what do the numbers in the message mean?
# Write `find_mismatch(net, *shape)` that finds the fault of any such network before data of that shape arrive.

# %% [markdown]
# #### Solution 6.4-2

# %% [markdown]
# It fails in the first forward pass, in the matrix product of the second layer.
# The message names a $2 \times 256$ matrix, the batch after the first layer, and a $128 \times 10$ matrix: the *transposed* weight, whose own shape is (10, 128).
# A dry run of a copy on the device `meta` finds such faults without data, if the layers have their sizes and take real numbers.
# A `forward` that makes tensors of its own on the processor, or looks at values, fails there although it is right.

# %%
def find_mismatch(net, *shape):
    """Message of the first error with a batch of 2, or None."""
    twin = copy.deepcopy(net).to("meta")  # the original stays as it is
    try:
        twin(torch.empty(2, *shape, device="meta"))
    except RuntimeError as error:
        return str(error)


found = find_mismatch(mismatch, 20)
assert "256" in found and "128" in found
assert find_mismatch(nn.Sequential(nn.Linear(20, 8), nn.ReLU()), 20) is None
nested = nn.Sequential(nn.Sequential(nn.Conv1d(1, 3, 5), nn.Flatten()),
                       nn.Linear(47, 2))  # the convolution leaves 3 * 16
assert "48" in find_mismatch(nested, 1, 20)
assert not nested[1].weight.is_meta
try:
    mismatch(X)
except RuntimeError as error:
    assert "2x256 and 128x10" in str(error)

# %% [markdown]
# ### Exercise 6.4-3
#
# Lazy layers fix the width at the first batch.
# Build a network that accepts widths from 15 to 30, in any order.

# %% [markdown]
# #### Solution 6.4-3

# %% [markdown]
# Bring all inputs to one width before the first layer.
# *Adaptive pooling* divides each row into 20 intervals, which may overlap, and takes their means.
# Another way is padding with zeros to the largest width, which keeps all entries and gives them fixed places.

# %%
class PadTo(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, X):
        return F.pad(X, (0, self.width - X.shape[-1]))


for front, width in ((nn.AdaptiveAvgPool1d(20), 20), (PadTo(30), 30)):
    net = nn.Sequential(front, nn.LazyLinear(256), nn.ReLU(),
                        nn.LazyLinear(10))
    for d in (20, *range(15, 31)):
        assert net(torch.randn(2, d)).shape == (2, 10)
    assert net[1].in_features == width
assert PadTo(4)(torch.ones(1, 2)).tolist() == [[1, 1, 0, 0]]

# %% [markdown]
# Which one is right depends on the data.
# Pooling suits inputs that are samples of one curve at different resolutions; padding suits inputs whose entry $j$ always means the same.

# %% [markdown]
# ### Exercise 6.4-4
#
# Write a function `guarded(init)` that turns any initializer into one that raises an error if it meets a module with uninitialized parameters of its own.

# %% [markdown]
# #### Solution 6.4-4

# %% [markdown]
# With `recurse=False` a module is asked for its own parameters only.
# `apply` visits children before their container, so the message names the layer.

# %%
def guarded(init):
    def init_or_raise(module):
        if any(nn.parameter.is_lazy(p)
               for p in module.parameters(recurse=False)):
            raise RuntimeError(f"{module} has no shape yet; do a dry run "
                               "before you initialize.")
        init(module)
    return init_or_raise


net = make_lazy()
try:
    net.apply(guarded(init_constant))
except RuntimeError as error:
    print(error)
    raised = str(error).startswith("LazyLinear")
assert raised
guarded(init_constant)(net)  # the container has no parameters of its own
net(X)
net.apply(guarded(init_constant))
assert (net[0].weight == 1).all() and (net[2].weight == 1).all()

# %% [markdown]
# ### Exercise 6.4-5
#
# A residual block computes $\mathbf{x} + f(\mathbf{x})$, where $f$ is a convolution, batch normalization, ReLU, and a second convolution with batch normalization.
# Count the parameters of a network with 50 such blocks of 256 channels on the device `meta`, and check the method on a smaller network on the CPU.

# %% [markdown]
# #### Solution 6.4-5

# %% [markdown]
# A $3 \times 3$ convolution from $c$ to $c$ channels without bias has $9c^2$ parameters and a batch normalization $2c$, so a block has $18c^2 + 4c$.

# %%
class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Sequential(
            nn.LazyConv2d(c, 3, padding=1, bias=False),
            nn.LazyBatchNorm2d(), nn.ReLU(),
            nn.LazyConv2d(c, 3, padding=1, bias=False),
            nn.LazyBatchNorm2d())

    def forward(self, X):
        return torch.relu(X + self.f(X))


def resnet(c, blocks):
    return nn.Sequential(nn.LazyConv2d(c, 3, padding=1, bias=False),
                         *[Residual(c) for _ in range(blocks)])

# %%
net = resnet(8, 3)
net.eval()(torch.zeros(1, 3, 8, 8))
small = meta_params(lambda: resnet(8, 3), 3, 8, 8)
assert small == count_params(net) == 27 * 8 + 3 * (18 * 8**2 + 4 * 8)
large = meta_params(lambda: resnet(256, 50), 3, 224, 224)
assert large == 27 * 256 + 50 * (18 * 256**2 + 4 * 256)
print(f"50 blocks of 256 channels: {large:,} parameters")

# %% [markdown]
# ## Sources
#
# - PyTorch documentation, [LazyModuleMixin](https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.lazy.LazyModuleMixin.html): placeholders, the change of class, and the order dry run before optimizer.
# - PyTorch documentation, [meta device](https://docs.pytorch.org/docs/stable/meta.html): tensors without storage, `to_empty`.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the running example and `apply_init`, there a method; its AlexNet is the example of the first trap.
# - S. Ioffe, C. Szegedy (2015). Batch normalization. [arXiv:1502.03167](https://arxiv.org/abs/1502.03167): the running statistics of the second trap.
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning applied to document recognition. [doi:10.1109/5.726791](https://doi.org/10.1109/5.726791): the network that `make_conv` resembles.
