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
# # 6.5 Custom layers
#
# Sooner or later you want a layer that no library has, because you have just invented it or read of it yesterday.
# Writing one takes ten lines.
# The harder question is whether it works: a layer with a fault still returns numbers of the right shape, and the rest of the network often hides that it learns nothing.
#
# **You will**
#
# - write layers without parameters, with parameters, and with state that is not trained;
# - decide for every number in a layer whether it is a parameter, a buffer or an attribute;
# - recognize a layer that cannot learn, and find it by a test of one line;
# - give a function your own derivative, and test that the derivative is right.
#
# **Cost**: a few seconds on a CPU, no download, no use for a GPU.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params

d2l.use_style()

# %% [markdown]
# ## Layers without parameters
#
# A layer is a module ([Section 6.1](01-layers-and-modules.ipynb)), so we derive from `nn.Module` and write `forward`.
# If there is nothing to learn and nothing to remember, that is all.
# Our first layer subtracts the mean from its input.

# %%
class CenteredLayer(nn.Module):
    """Subtracts the mean of all entries; keeps the shape."""

    def forward(self, X):
        return X - X.mean()

# %%
layer = CenteredLayer()
print(layer(torch.tensor([1.0, 2, 3, 4, 5])))

# %% [markdown]
# It fits into a network like every other layer.
# (`nn.LazyLinear` finds out its number of inputs by itself, see [Section 6.4](04-lazy-initialization.ipynb).)
# The mean of the output is then 0, up to the rounding of floating point numbers.

# %%
# check 6.5-C1: centred by itself and at the end of a network
Y = layer(torch.tensor([1.0, 2, 3, 4, 5]))
assert Y.tolist() == [-2, -1, 0, 1, 2]

torch.manual_seed(0)
net = nn.Sequential(nn.LazyLinear(128), CenteredLayer())
Y = net(torch.rand(4, 8))  # (4, 128)
print(f"mean of the output below 1e-6: {Y.mean().abs().item() < 1e-6}")
assert Y.shape == (4, 128) and Y.mean().abs() < 1e-6

# %% [markdown]
# ### Leave the leading axes alone
#
# Although correct, `CenteredLayer` has an unpleasant property.
# It takes the mean over the whole minibatch, so the result for one example depends on its neighbours.
#
# ![Two tables of four examples, the rows, by five features. Left, for CenteredLayer, all cells have one colour: they share one mean. Right, for CenteredRows, each row has a colour and a mean of its own.](img/custom-axes.svg)
#
# **Figure 6.5.1.** Entries of one colour share a mean.
# Left, the examples of a minibatch depend on each other; right, they do not.
#
# The layers of PyTorch follow a convention: the last axis holds the features, and all axes before it are only counted through.
# A linear layer accepts $(d,)$, $(n, d)$ and $(n, t, d)$ and treats each vector of length $d$ alone.
# Layers that keep to it can be combined freely and give the same answer for one example as for a thousand.
# The remedy is an axis: `dim=-1`, counted from the end, and `keepdim=True`, so that the mean can be subtracted.

# %%
class CenteredRows(nn.Module):
    """Subtracts from each vector on the last axis its mean."""

    def forward(self, X):  # (..., d)
        return X - X.mean(dim=-1, keepdim=True)

def treats_examples_alone(layer, X):
    """Whether a batch gives the same as its examples one by one."""
    one_by_one = torch.stack([layer(x) for x in X])
    return torch.allclose(layer(X), one_by_one, atol=1e-6)

X = torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(0))
for layer in (CenteredLayer(), CenteredRows()):
    print(type(layer).__name__, treats_examples_alone(layer, X))

# %%
# check: the convention distinguishes the two layers
assert not treats_examples_alone(CenteredLayer(), X)
assert treats_examples_alone(CenteredRows(), X)
assert treats_examples_alone(nn.Linear(8, 2), X)

# %% [markdown]
# Keep the test: it is the first of four that every new layer should pass.
# (Batch normalization of Chapter 8 breaks the convention on purpose, which is why it needs a different rule for evaluation.)
#
# ## Layers with parameters
#
# Next a dense layer with a built-in ReLU,
#
# $$
# \mathbf{H} = \max(0,\; \mathbf{X} \mathbf{W} + \mathbf{b}). \tag{6.5.1}
# $$
#
# $\mathbf{X}$ is the input, $(n, d)$, with one example a row; $\mathbf{W}$ holds the weights, $(d, h)$; $\mathbf{b}$ the biases, $(h,)$, added to every row; the maximum is taken entry by entry, and $\mathbf{H}$ has shape $(n, h)$.
#
# The weights must be tensors that the module knows.
# Wrapping a tensor in `nn.Parameter` is enough: at the assignment the module registers it, and from then on everything works that it can do with parameters, namely access, initialization, sharing, training, saving and moving.
# We need no code of our own for any of these.

# %%
class MyLinear(nn.Module):
    """Dense layer with ReLU: (..., in_units) -> (..., units)."""

    def __init__(self, in_units, units):
        super().__init__()
        self.in_units, self.units = in_units, units
        self.weight = nn.Parameter(torch.empty(in_units, units))
        self.bias = nn.Parameter(torch.empty(units))
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weights that keep the mean square through the ReLU."""
        nn.init.normal_(self.weight, std=(2 / self.in_units) ** 0.5)
        nn.init.zeros_(self.bias)

    def forward(self, X):
        return F.relu(X @ self.weight + self.bias)

    def extra_repr(self):
        return f"in_units={self.in_units}, units={self.units}"

# %% [markdown]
# Two methods follow customs of PyTorch.
# `reset_parameters` fills the tensors and is called by the constructor; so the layer can be initialized again later without being built again.
# The standard deviation is the one of [Section 6.3](03-initialization.ipynb).
# (We compute it ourselves: functions such as `nn.init.kaiming_normal_` read the number of inputs off the *second* axis, since PyTorch's own layers store weights as (out, in), and ours has (in, out).)
# `extra_repr` returns what stands between the parentheses when the layer is printed.

# %%
# check 6.5-C3: 64 -> 8 -> 1 has 529 parameters and output >= 0
torch.manual_seed(0)
net = nn.Sequential(MyLinear(64, 8), MyLinear(8, 1))
print(net)
Y = net(torch.rand(2, 64))
assert Y.shape == (2, 1) and (Y >= 0).all()
assert count_params(net) == (64 * 8 + 8) + (8 * 1 + 1) == 529
assert repr(net[0]) == "MyLinear(in_units=64, units=8)"
assert treats_examples_alone(MyLinear(8, 3), X)
H = MyLinear(400, 300)(torch.randn(500, 400))  # mean square 1 goes in
assert abs(H.square().mean() - 1) < 0.1

# %%
twin = nn.Sequential(MyLinear(64, 8), MyLinear(8, 1))
print(list(net.state_dict()))
print(twin.load_state_dict(net.state_dict()))
X64 = torch.rand(2, 64)
assert torch.equal(twin(X64), net(X64))

# %% [markdown]
# How the state dictionary gets into a file is the subject of [Section 6.6](06-file-io.ipynb).
#
# ## A layer that cannot learn
#
# Here is a version of the layer as it stands in widely read teaching material.
# It differs in one line: it computes with `self.weight.data` instead of `self.weight`.

# %%
class Detached(MyLinear):
    """MyLinear with a fault: it computes with .data."""

    def forward(self, X):
        return F.relu(X @ self.weight.data + self.bias.data)

torch.manual_seed(0)
right, wrong = MyLinear(10, 16), Detached(10, 16)
wrong.load_state_dict(right.state_dict())
X = torch.randn(5, 10)
print("same outputs: ", torch.equal(right(X), wrong(X)))
print("requires grad:", right(X).requires_grad, wrong(X).requires_grad)

# %% [markdown]
# `.data` returns the numbers without their history ([Section 2.5](../02-preliminaries/05-automatic-differentiation.ipynb)).
# For autograd the output is a constant: no path leads back to the weights.
# Shapes, values, names and the number of parameters are all as they should be.

# %%
# check 6.5-C2: the version with .data has no gradient, ours is right
assert not wrong(X).requires_grad
try:
    wrong(X).sum().backward()
    refused = False
except RuntimeError as error:
    refused = True
    print(error)
assert refused
expected = F.relu(F.linear(X, right.weight.T, right.bias))
torch.testing.assert_close(right(X), expected)

# %% [markdown]
# If the network consists of such layers only, `backward` raises, and the fault is found in a minute.
# A real network also has healthy layers, and then nothing is raised.
# We train two networks on a regression with 10 features, of which two count: $y = |x_1| - |x_2|$.
# Each has one hidden layer of 16 units, a right one or a wrong one with the same initial weights, and a linear output layer of the ordinary kind.

# %%
generator = torch.Generator().manual_seed(0)
X_train = torch.randn(256, 10, generator=generator)
y_train = X_train[:, :1].abs() - X_train[:, 1:2].abs()  # (256, 1)

def train(layer_class, steps=150):
    """Loss curve and network; the hidden layer is a layer_class."""
    torch.manual_seed(0)
    net = nn.Sequential(layer_class(10, 16), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        loss = F.mse_loss(net(X_train), y_train)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, net

# %%
losses_wrong, net_wrong = train(Detached)
losses_right, net_right = train(MyLinear)
ax = d2l.plot(range(150), [losses_wrong, losses_right],
              ["computes with .data", "computes with the parameters"],
              xlabel="step", ylabel="training loss", yscale="log")
d2l.describe(ax, """Loss against the step, logarithmic. Both curves begin
at the same value and fall. The one of the layer with .data stops above
half of the first value, the other falls by about three orders of
magnitude.""")

# %% [markdown]
# **Figure 6.5.2.** A layer that cannot learn does not stop the loss from falling.
# The curve with `.data` looks like a training that has converged to a mediocre result.
#
# The output layer learns to make the best of 16 random features.
# That is what makes the fault so expensive: seeing the upper curve alone, one would change the learning rate, the width or the data.

# %%
# check: the wrong layer stays as it was, the right one learns
torch.manual_seed(0)
start = MyLinear(10, 16)  # the initial weights of both networks
assert losses_wrong[0] == losses_right[0]
assert torch.equal(net_wrong[0].weight, start.weight)
assert not torch.equal(net_right[0].weight, start.weight)
assert losses_right[-1] < 0.02 < 0.3 < losses_wrong[-1]
assert losses_wrong[-1] < 0.8 * losses_wrong[0]
assert losses_wrong[-1] > 0.95 * losses_wrong[-50]  # it has levelled off

# %% [markdown]
# The second test for a new layer therefore does not look at the loss.
# After one backward pass every parameter must have a gradient, and not only zeros.

# %%
def untrained(net):
    """Names of the parameters without a gradient or with only zeros."""
    return [name for name, p in net.named_parameters()
            if p.grad is None or not p.grad.any()]

print("with .data:", untrained(net_wrong))
print("without:   ", untrained(net_right))
assert untrained(net_wrong) == ["0.weight", "0.bias"]
assert untrained(net_right) == []

layer = MyLinear(2, 3)
nn.init.ones_(layer.weight)
layer(torch.tensor([[0.0, 1.0]])).sum().backward()  # a row of zeros
assert not layer.weight.grad.all() and untrained(layer) == []
layer.zero_grad()
(0 * layer(torch.ones(1, 2))).sum().backward()  # nothing but zeros
assert untrained(layer) == ["weight", "bias"]

# %% [markdown]
# `.detach()`, `torch.no_grad()` and a detour through NumPy cut the graph just as `.data` does, and the test finds them too, since it asks for the gradient itself.
# (It also names parameters whose gradient happens to be zero for this batch, for instance behind a ReLU that is off for all its examples.)
#
# ## State that is not trained
#
# Some layers remember numbers that no optimizer should touch: the mean of all data seen, a mask, a table of positions.
# Where should they go?
#
# ![Decision diagram. First question: is it a tensor that the optimizer is to change? If yes, a parameter: trained, saved, moved. If no, second question: is it a tensor that forward computes with? If yes, a buffer: saved and moved. If no, a plain attribute: none of the three.](img/custom-state.svg)

# %% [markdown]
# **Figure 6.5.3.** Parameter, buffer or attribute?
# The two questions decide for every member of a layer.
#
# A *buffer* is a tensor that belongs to the state of a module without being a parameter.
# `register_buffer(name, tensor)` makes one.
# If it can be computed anew from the sizes, such as a table of positions, `persistent=False` keeps it out of the file; it is still moved.
#
# As an example take a layer that centres its input with the mean of *all* examples seen in training, not only of those in the minibatch.
# It cannot keep all examples, but it need not.
# Let $\bar{\mathbf{x}} \in \mathbb{R}^d$ be the mean of a minibatch of $m$ examples and $\boldsymbol{\mu} \in \mathbb{R}^d$ the mean of the $N$ examples before it.
# The mean of all $N + m$ is
#
# $$
# \boldsymbol{\mu}' = \frac{N \boldsymbol{\mu} + m \bar{\mathbf{x}}}{N + m}
# = \boldsymbol{\mu} + \frac{m}{N + m} (\bar{\mathbf{x}} - \boldsymbol{\mu}). \tag{6.5.2}
# $$
#
# $N$ and $m$ are counts, $\boldsymbol{\mu}'$ has $d$ entries.
# In numbers: with $\mu = 2$ after $N = 3$ examples, a minibatch of $m = 1$ with the value 6 moves the mean by $\tfrac14 \cdot 4$ to 3.
# Mean and count are the state of the layer.

# %%
class RunningMean(nn.Module):
    """Subtracts the mean of all training examples seen: (..., dim)."""

    def __init__(self, dim):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, X):
        if self.training:
            self.update(X.detach().reshape(-1, X.shape[-1]))
        return X - self.mean

    @torch.no_grad()
    def update(self, X):  # (m, dim)
        self.count += len(X)
        self.mean += len(X) / self.count * (X.mean(dim=0) - self.mean)

# %% [markdown]
# The update runs under `no_grad` and on detached inputs.
# Otherwise the mean would carry the history of all earlier minibatches, and the memory would grow from step to step.
# The check feeds an input that requires gradients, as the layers below would.
# In evaluation mode the state stays as it is, so the output for an example no longer depends on what else is evaluated.

# %%
# check: example of the text; unequal minibatches give the mean of all
layer = RunningMean(1)
layer(torch.tensor([[1.0], [2], [3]]))
layer(torch.tensor([[6.0]]))
assert layer.mean.item() == 3 and layer.count == 4

X = torch.randn(100, 10, generator=torch.Generator().manual_seed(1))
layer = RunningMean(10)
for batch in X.split([7, 50, 13, 30]):
    layer(batch)
torch.testing.assert_close(layer.mean, X.mean(dim=0))
layer.eval()
assert treats_examples_alone(layer, X) and layer.count == 100

layer = RunningMean(10)
deep = X.clone().requires_grad_()
for _ in range(2):  # the history must not grow from step to step
    out = layer(deep)
assert layer.mean.grad_fn is None and not layer.mean.requires_grad
out.sum().backward()  # and the mean counts as a constant
assert torch.equal(deep.grad, torch.ones_like(deep))

# %%
# check 6.5-C4: the buffer is saved and moved, and is no parameter
print("saved:     ", list(layer.state_dict()))
print("parameters:", list(layer.parameters()))
assert "mean" in layer.state_dict() and not list(layer.parameters())
layer.to(torch.float64)
print("moved:     ", layer.mean.dtype, layer.count.dtype)
assert layer.mean.dtype == torch.float64
assert layer.count.dtype == torch.int64

# %% [markdown]
# The last line shows that a move to another floating point type leaves integers alone.
# Had we written `self.mean = torch.zeros(dim)`, the layer would pass the first of the two checks; its mean would be missing in the file, and would stay on the processor when the layer moves to a GPU.
#
# ## Mathematics in a function, bookkeeping in a module
#
# A layer that nobody has written for us: each output is a quadratic form of the input,
#
# $$
# y_k = \sum_{i=1}^{d} \sum_{j=1}^{d} W_{ijk} \, x_i x_j. \tag{6.5.3}
# $$
#
# $\mathbf{x} \in \mathbb{R}^d$ is one example, $W$ a tensor of weights of shape $(d, d, K)$, and $y_k$ the $k$-th of the $K$ outputs.
# With $d = 2$, $K = 1$, $\mathbf{x} = (2, 3)$ and $W_{111} = 1$, $W_{121} = 5$, all other weights 0, we get $y_1 = 1 \cdot 2 \cdot 2 + 5 \cdot 2 \cdot 3 = 34$.
# A linear layer can express no product of two features, and this one all of them.
#
# We write the formula as a function of its input and its weights, and leave everything else to a module.
# The function can then be tested, timed and read without the module; sections with longer computations, such as batch normalization in Chapter 8, keep to this pattern.
# `torch.einsum` takes (6.5.3) almost literally, and the dots stand for any leading axes.

# %%
def quadratic(X, W):
    """(..., d), (d, d, k) -> (..., k): quadratic forms of each row."""
    return torch.einsum("ijk,...i,...j->...k", W, X, X)

class QuadraticLayer(nn.Module):
    """k quadratic forms of d features: (..., d) -> (..., k)."""

    def __init__(self, d, k):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d, d, k) / d)

    def forward(self, X):
        return quadratic(X, self.weight)

# %% [markdown]
# The third test compares with the slowest and plainest program, here three nested loops that can be laid beside the formula.

# %%
def quadratic_loops(x, W):
    """Formula (6.5.3) for one example, term by term."""
    d, _, k = W.shape
    y = torch.zeros(k)
    for i in range(d):
        for j in range(d):
            for out in range(k):
                y[out] += W[i, j, out] * x[i] * x[j]
    return y

# %%
# check 6.5-C5: equals einsum and loops; only the symmetric part counts
torch.manual_seed(0)
layer, X = QuadraticLayer(4, 3), torch.randn(6, 4)
W = layer.weight.detach()
Y = layer(X).detach()  # (6, 3)
torch.testing.assert_close(Y, torch.einsum("ijk,bi,bj->bk", W, X, X))
torch.testing.assert_close(
    Y, torch.stack([quadratic_loops(x, W) for x in X]))
torch.testing.assert_close(Y, quadratic(X, (W + W.transpose(0, 1)) / 2))

example = torch.zeros(2, 2, 1)
example[0, 0], example[0, 1] = 1, 5
assert quadratic(torch.tensor([2.0, 3]), example).item() == 34

# %%
layer(X).square().sum().backward()
assert untrained(layer) == []
slope = layer.weight.grad
torch.testing.assert_close(slope, slope.transpose(0, 1))
assert treats_examples_alone(layer, torch.randn(3, 6, 4))

# %% [markdown]
# The last comparison of the check holds because $x_i x_j = x_j x_i$: in the sum only $W_{ijk} + W_{jik}$ appears.
# So the outputs do not change if $W$ is replaced by its symmetrization
#
# $$
# \tilde{W}_{ijk} = \tfrac12 (W_{ijk} + W_{jik}), \tag{6.5.4}
# $$
#
# which has the shape $(d, d, K)$ of $W$, but for each $k$ only $d(d+1)/2$ different entries.
# For large $d$ almost half of the parameters are superfluous.
# Superfluous is not the same as untrained: $W_{ijk}$ and $W_{jik}$ receive equal gradients and learn in step.
#
# ## Layers may return other types
#
# Nothing forces a layer to return real numbers, or as many as it received.
# The discrete Fourier transform takes $N$ numbers $x_0, \dots, x_{N-1}$, say a sound, to
#
# $$
# z_m = \sum_{n=0}^{N-1} x_n \, e^{-2 \pi \mathrm{i} m n / N}, \qquad m = 0, \dots, N - 1. \tag{6.5.5}
# $$
#
# $z_m$ is a complex number that says how strongly, and with which phase, a wave with $m$ periods occurs in the input; $\mathrm{i}$ is the imaginary unit.
# For real inputs $z_{N-m}$ is the complex conjugate of $z_m$, because $e^{-2\pi \mathrm{i} (N-m) n / N} = e^{+2 \pi \mathrm{i} m n / N}$.
# Nothing is lost if we keep the leading half, $m = 0, \dots, \lfloor N/2 \rfloor$.

# %%
class HalfFourier(nn.Module):
    """Leading half of the spectrum: (..., N) -> (..., N // 2 + 1)."""

    def forward(self, X):
        return torch.fft.rfft(X)

# %%
# check 6.5-C6: (4, 10) becomes (4, 6), complex, equal to fft cut off
X = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
Z = HalfFourier()(X)
assert Z.shape == (4, 6) and Z.is_complex()
full = torch.fft.fft(X)  # (4, 10)
torch.testing.assert_close(Z, full[:, :6])
torch.testing.assert_close(full[:, 6:].flip(-1), Z[:, 1:5].conj())

# %%
time = torch.arange(64) / 64
signal = (torch.sin(2 * torch.pi * 3 * time)
          + 0.5 * torch.cos(2 * torch.pi * 11 * time))
strength = HalfFourier()(signal).abs()  # (33,)
fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.5))
d2l.plot(time, signal, xlabel="time", ylabel="$x_n$", ax=axes[0])
axes[1].bar(range(33), strength.tolist())
axes[1].set(xlabel="periods $m$", ylabel="$|z_m|$")
d2l.describe(axes, """Left, a wave of three periods with a faster one on
it. Right, the absolute values of its half spectrum: two bars, at 3 and
half as high at 11, and zero elsewhere.""")

# %% [markdown]
# **Figure 6.5.4.** The layer turns 64 values of a signal (left) into 33 of its spectrum (right), where the two waves in it stand apart.

# %%
# check: the two waves are found, with strengths 1 and 1/2 times N / 2
assert strength.topk(2).indices.tolist() == [3, 11]
torch.testing.assert_close(strength[[3, 11]], torch.tensor([32.0, 16.0]))
X.requires_grad_()
HalfFourier()(X).abs().sum().backward()
assert X.grad.shape == X.shape and X.grad.abs().min() > 0

# %% [markdown]
# A loss must be a real number, so somewhere on the way an absolute value or a real part has to be taken.
# The layers behind it must accept complex inputs until then; most do not.
#
# ## A derivative of our own
#
# So far autograd has derived our layers, since we wrote them with operations whose derivatives it knows.
# There are three reasons to write the derivative ourselves: the operation comes from outside PyTorch; there is a formula that is faster, smaller or more accurate; or the true derivative is useless, as in Exercise 6.5-4.
# (For the first reason there is now `torch.library.custom_op`; its guide prefers `register_autograd` to a `Function`, some combinations of which with such operators give wrong results under `torch.compile` without an error. The derivative itself is written in the same way.)
#
# Our example is the square of the ReLU, which some transformers use,
#
# $$
# f(x) = \max(0, x)^2, \qquad f'(x) = 2 \max(0, x). \tag{6.5.6}
# $$
#
# $x$ is one entry of the input; the function is applied to each entry.
# Backward, the function receives the derivatives of the loss with respect to its outputs and returns those with respect to its inputs; by the chain rule
#
# $$
# \frac{\partial L}{\partial x} = \frac{\partial L}{\partial f} \cdot 2 \max(0, x), \tag{6.5.7}
# $$
#
# where $L$ is the loss, a number, and both derivatives have the shape of the input.
# A subclass of `torch.autograd.Function` holds the two directions as static methods, and a third one, `setup_context`, stores in `ctx` what the way back needs.
# It saves the *input* `x`, and not the intermediate result $\max(0,x)$, although that is all that (6.5.7) asks for.
# Autograd knows how an input came about, but what is computed inside `forward` is hidden from it: for a derivative of the derivative it would take a saved intermediate for a constant.
# With this division into methods the function also works under the transforms of `torch.func`; `generate_vmap_rule` lets PyTorch derive the batched version.

# %%
class SquaredReLU(torch.autograd.Function):
    """max(0, x) ** 2, entry by entry; call it by SquaredReLU.apply."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.clamp(min=0).square()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad_output):
        x, = ctx.saved_tensors
        return grad_output * 2 * x.clamp(min=0)

# %%
x = torch.tensor([-1.0, 0.0, 0.5, 3.0], requires_grad=True)
y = SquaredReLU.apply(x)
y.sum().backward()
print(y.tolist(), x.grad.tolist())
assert x.grad.tolist() == [0, 0, 1, 6]

# %% [markdown]
# Autograd believes whatever `backward` returns.
# A network with a wrong factor may still train, and no shape gives it away.
# So compare it with differences: for a small step $h > 0$
#
# $$
# f'(x) \approx \frac{f(x + h) - f(x - h)}{2h}. \tag{6.5.8}
# $$
#
# `torch.autograd.gradcheck` does this for every entry of every input and output.
# Its inputs must be in `float64`.
# The reason is shown by the error of (6.5.8) for a function with a known derivative, $f(x) = x^3$.

# %%
def difference_error(dtype, h):
    """Largest error of (6.5.8) for x ** 3 at 50 points in [1, 2]."""
    x = 1 + torch.arange(50, dtype=dtype) / 49
    up, down = x + h, x - h
    slope = (up * up * up - down * down * down) / (2 * h)
    return (slope - 3 * x * x).abs().max().item()

h = [float(f"{m}e{k}") for k in range(-9, 0) for m in (1, 3)] + [1.0]
types = (torch.float32, torch.float64)
errors = [[difference_error(t, s) for s in h] for t in types]
ax = d2l.plot(h, errors, ["float32", "float64"], xlabel="step $h$",
              ylabel="largest error", xscale="log", yscale="log",
              fmts=["-o", "--s"])
ax.axvline(1e-6, color="0.5", lw=1, ls=":")
ax.text(1.4e-6, 4, "step of gradcheck")
d2l.describe(ax, """Error of the difference quotient against the step,
both logarithmic. From the right both curves fall with the square of the
step. The float32 curve turns and rises already at h of about 0.01, the
float64 curve at about 0.00001, at an error that is far smaller.""")

# %% [markdown]
# **Figure 6.5.5.** With smaller steps the formula becomes more accurate and its rounding worse.
# At the step that `gradcheck` uses, `float32` has hardly one correct digit to offer, `float64` about nine.

# %%
# check: at h = 1e-6 float32 is useless and float64 is not
assert difference_error(torch.float32, 1e-6) > 0.1
assert difference_error(torch.float64, 1e-6) < 1e-8

# %%
# check 6.5-C7: gradcheck accepts ours and finds two mistakes
class WrongFactor(SquaredReLU):
    @staticmethod
    def backward(ctx, grad_output):
        x, = ctx.saved_tensors
        return grad_output * x.clamp(min=0)  # the factor 2 is missing


class SavesResult(torch.autograd.Function):
    """Like SquaredReLU, but it saves max(0, x) instead of x."""

    @staticmethod
    def forward(ctx, x):
        positive = x.clamp(min=0)
        ctx.save_for_backward(positive)
        return positive.square()

    @staticmethod
    def backward(ctx, grad_output):
        positive, = ctx.saved_tensors
        return grad_output * 2 * positive


generator = torch.Generator().manual_seed(0)
x = torch.randn(3, 4, dtype=torch.float64, generator=generator)
x.requires_grad_()
accepted = torch.autograd.gradcheck(SquaredReLU.apply, (x,))
wrong_accepted = torch.autograd.gradcheck(WrongFactor.apply, (x,),
                                          raise_exception=False)
print("right:", accepted, " wrong factor:", wrong_accepted)
assert accepted and not wrong_accepted
assert torch.autograd.gradcheck(SavesResult.apply, (x,))  # so far so good
second = [torch.autograd.gradgradcheck(f.apply, (x,), raise_exception=False)
          for f in (SquaredReLU, SavesResult)]
print("second derivatives, x saved:", second[0], " result saved:", second[1])
assert second == [True, False]

# %% [markdown]
# `gradgradcheck` does the same for the derivative of the derivative, and it finds what `gradcheck` does not see: `SavesResult` has the right first and a wrong second derivative, without any error.
# Take $f(x^2)$, which is $x^4$ for every $x$: its second derivative is $12x^2$.

# %%
def second_derivative(f, x):
    first, = torch.autograd.grad(f(x * x).sum(), x, create_graph=True)
    return torch.autograd.grad(first.sum(), x)[0]


z = torch.tensor([0.5, 3.0], requires_grad=True)  # 12 z^2 is 3 and 108
for f in (SquaredReLU, SavesResult):
    print(f"{f.__name__:12s}", second_derivative(f.apply, z).tolist())
assert second_derivative(SquaredReLU.apply, z).tolist() == [3, 108]
assert second_derivative(SavesResult.apply, z).tolist() != [3, 108]
per_entry = torch.func.vmap(torch.func.grad(SquaredReLU.apply))
assert per_entry(z.detach()).tolist() == [1, 6]  # f' of each entry

# %% [markdown]
# Stay away from corners in such a test.
# At $x = 0$ the ordinary ReLU has no derivative, and the difference quotient gives one half, whatever `backward` says; random inputs hardly ever come that close to a corner.
# `gradcheck` is the fourth test for a new layer.
# It also works for whole modules.

# %%
layer = QuadraticLayer(3, 2).to(torch.float64)
x = torch.randn(2, 3, dtype=torch.float64, generator=generator)
assert torch.autograd.gradcheck(layer, (x.requires_grad_(),))

# %% [markdown]
# ## Summary
#
# - A layer is a module with a `forward`; parameters, saving and moving come with `nn.Parameter` and `register_buffer`.
# - Compute with the parameters, never with their `.data`: the layer would keep its random weights while the loss falls.
# - Trained: a parameter. Needed in `forward` but not trained: a buffer. Everything else: an attribute.
# - Features on the last axis, all axes before it only counted through: then layers compose.
# - Four tests for a new layer: batch against single examples, a gradient for every parameter, a slow program of the formula, `gradcheck` in `float64`.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 6.5-1
#
# Write a layer that subtracts the mean and divides by the standard deviation of each feature, both computed once from the training set and stored.
# Which kind of state are they?
# Show that the training set has mean 0 afterwards, and that the result for an example in `eval` mode does not depend on the minibatch.

# %% [markdown]
# #### Solution 6.5-1

# %% [markdown]
# They are buffers: `forward` computes with them, the file must contain them, and the optimizer must not change them.
# The layer behaves alike in both modes, because the statistics are computed in a method that is called explicitly.

# %%
class Standardize(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    @torch.no_grad()
    def fit(self, X):  # (n, dim)
        self.mean.copy_(X.mean(dim=0))
        self.std.copy_(X.std(dim=0))
        return self

    def forward(self, X):
        return (X - self.mean) / self.std

# %%
generator = torch.Generator().manual_seed(0)
scales = torch.tensor([1.0, 10, 100])
X = torch.randn(200, 3, generator=generator) * scales + scales
layer = Standardize(3).fit(X.requires_grad_()).eval()
assert not layer.mean.requires_grad  # no history in a buffer
Y = layer(X)
torch.testing.assert_close(Y.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-5)
torch.testing.assert_close(Y.std(dim=0), torch.ones(3))
assert torch.equal(layer(X[:1]), Y[:1]) and torch.equal(layer(X), Y)
fresh = Standardize(3)
fresh.load_state_dict(layer.state_dict())
assert torch.equal(fresh(X), Y)

# %% [markdown]
# ### Exercise 6.5-2
#
# Write a layer with two inputs $\mathbf{x} \in \mathbb{R}^p$ and $\mathbf{z} \in \mathbb{R}^q$ and outputs $y_k = \mathbf{x}^\top \mathbf{A}_k \mathbf{z}$.
# Compare with `nn.Bilinear`.

# %% [markdown]
# #### Solution 6.5-2

# %% [markdown]
# The matrices $\mathbf{A}_k$, each $(p, q)$, are stacked to one parameter of shape $(K, p, q)$.
# `nn.Bilinear` stores it in the same way.
# With $\mathbf{z} = \mathbf{x}$ the layer is the quadratic one.

# %%
class MyBilinear(nn.Module):
    def __init__(self, p, q, k):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(k, p, q) / (p * q) ** 0.5)

    def forward(self, X, Z):
        return torch.einsum("...i,kij,...j->...k", X, self.weight, Z)

torch.manual_seed(0)
mine, built_in = MyBilinear(4, 5, 3), nn.Bilinear(4, 5, 3, bias=False)
mine.load_state_dict(built_in.state_dict())
X, Z = torch.randn(6, 4), torch.randn(6, 5)
assert mine(X, Z).shape == (6, 3)
torch.testing.assert_close(mine(X, Z), built_in(X, Z))

# %% [markdown]
# ### Exercise 6.5-3
#
# Write a layer that multiplies each of $d$ features by a learnable scale and adds a learnable shift.
# How should it be initialized?
# How many parameters does it have, and how many would a linear layer need?

# %% [markdown]
# #### Solution 6.5-3

# %% [markdown]
# Scale 1 and shift 0 make it the identity, so inserting it into a network changes nothing at first.
# It has $2d$ parameters; a linear layer has $d^2 + d$, of which this one keeps the diagonal and the bias.

# %%
class ScaleShift(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(d))
        self.shift = nn.Parameter(torch.zeros(d))

    def forward(self, X):
        return self.scale * X + self.shift

layer, X = ScaleShift(7), torch.rand(3, 6, 7)
assert count_params(layer) == 2 * 7
assert torch.equal(layer(X), X) and treats_examples_alone(layer, X)
layer(X).square().sum().backward()
assert untrained(layer) == []

# %% [markdown]
# ### Exercise 6.5-4
#
# The sign function has the derivative 0 wherever it has one, so a network with signs as activations does not learn.
# A *straight-through* gradient pretends on the way back that the function was the identity for $|x| \le 1$ and constant outside.
# Write it, and show what `gradcheck` says.

# %% [markdown]
# #### Solution 6.5-4

# %% [markdown]
# `backward` passes the incoming derivative through where $|x| \le 1$ and stops it elsewhere.
# `gradcheck` must reject it: the derivative is wrong, on purpose.

# %%
class StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad_output):
        x, = ctx.saved_tensors
        return grad_output * (x.abs() <= 1)

x = torch.tensor([-1.1, -0.9, 0.1, 1.0, 1.1], dtype=torch.float64,
                 requires_grad=True)
StraightThroughSign.apply(x).sum().backward()
assert x.grad.tolist() == [0, 1, 1, 1, 0]
inside = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
assert not torch.autograd.gradcheck(StraightThroughSign.apply, (inside,),
                                    raise_exception=False)

# %% [markdown]
# ### Exercise 6.5-5
#
# How many parameters has `QuadraticLayer(10, 3)`, and how many of them are needed?
# Write a version without superfluous parameters and show that it can compute the same function.

# %% [markdown]
# #### Solution 6.5-5

# %% [markdown]
# There are $10 \cdot 10 \cdot 3 = 300$.
# By (6.5.4) the pairs $i \le j$ suffice: $\tfrac{10 \cdot 11}{2} \cdot 3 = 165$.
# For $i < j$ the one weight left must be $W_{ijk} + W_{jik}$.
# The indices of the pairs are tensors that `forward` computes with and that follow from $d$: buffers that need not be saved.

# %%
class PairLayer(nn.Module):
    def __init__(self, d, k):
        super().__init__()
        self.register_buffer("pairs", torch.triu_indices(d, d),
                             persistent=False)  # (2, d (d + 1) / 2)
        self.weight = nn.Parameter(torch.randn(self.pairs.shape[1], k) / d)

    def forward(self, X):
        i, j = self.pairs
        return (X[..., i] * X[..., j]) @ self.weight

# %%
torch.manual_seed(0)
full, pairs = QuadraticLayer(10, 3), PairLayer(10, 3)
assert count_params(full) == 300 and count_params(pairs) == 165
i, j = pairs.pairs
with torch.no_grad():
    both = full.weight + full.weight.transpose(0, 1)
    pairs.weight.copy_(both[i, j] * torch.where(i == j, 0.5, 1.0)[:, None])
X = torch.randn(6, 10)
torch.testing.assert_close(pairs(X), full(X), rtol=1e-4, atol=1e-5)
assert list(pairs.state_dict()) == ["weight"]

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342), section on custom layers: the centring layer and the dense layer with ReLU.
# - PyTorch documentation, [torch.nn.Module](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html): parameters, buffers, `extra_repr`.
# - PyTorch documentation, [extending PyTorch](https://docs.pytorch.org/docs/stable/notes/extending.html): `torch.autograd.Function` and [gradcheck](https://docs.pytorch.org/docs/stable/notes/gradcheck.html).
# - T. F. Chan, G. H. Golub, R. J. LeVeque (1983). Algorithms for computing the sample variance: analysis and recommendations. [doi:10.1080/00031305.1983.10483115](https://doi.org/10.1080/00031305.1983.10483115): means of parts joined as in (6.5.2).
# - D. R. So, W. Mańke, H. Liu, Z. Dai, N. Shazeer, Q. V. Le (2021). Primer: searching for efficient transformers for language modeling. [arXiv:2109.08668](https://arxiv.org/abs/2109.08668): the squared ReLU.
# - Y. Bengio, N. Léonard, A. Courville (2013). Estimating or propagating gradients through stochastic neurons for conditional computation. [arXiv:1308.3432](https://arxiv.org/abs/1308.3432): the straight-through gradient.
# - M. Courbariaux, I. Hubara, D. Soudry, R. El-Yaniv, Y. Bengio (2016). Binarized neural networks. [arXiv:1602.02830](https://arxiv.org/abs/1602.02830): the form that is cut off where $|x| > 1$, that is, with the derivative of a hard tanh.
# - PyTorch tutorials, [adding training and other registrations to Python custom operators](https://docs.pytorch.org/tutorials/advanced/python_custom_ops_registrations.html): `torch.library.custom_op` and `register_autograd`.
