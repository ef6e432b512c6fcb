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
# # 6.3 Parameter initialization
#
# Every layer has values before the first training step, and somebody has chosen them: you, or the authors of PyTorch.
# What did they choose, how do we choose otherwise, and how do we find out before training whether a choice is any good?
# [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb) derived which weights keep a signal alive; here we learn to put them where they belong.
#
# **You will**
#
# - state the distribution that PyTorch draws from if you say nothing, for linear and convolutional layers, and derive it;
# - set chosen parts of a model with built-in initializers and with your own;
# - predict the effect of a scheme on the signal of a deep network, and measure it;
# - avoid the constant start and a few initializers that do less than their names say.
#
# **Cost**: about ten seconds on a CPU, no download, no use for a GPU.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.multilayer_perceptrons import (init_linear,
                                                         signal_stats)

d2l.use_style()
f64 = torch.float64  # signals of 1e-19 have squares too small for float32

# %% [markdown]
# ## What a layer starts with
#
# A layer initializes itself when it is created: its constructor calls its method `reset_parameters`.
# For `nn.Linear`, and for the convolutional layers of Chapter 7, this method draws
#
# $$
# w_{ij},\, b_i \sim U\left(-\frac{1}{\sqrt{n_\mathrm{in}}},\ \frac{1}{\sqrt{n_\mathrm{in}}}\right),
# \qquad \operatorname{Var}(w_{ij}) = \operatorname{Var}(b_i) = \frac{1}{3\,n_\mathrm{in}}. \tag{6.3.1}
# $$
#
# Here $w_{ij}$ is an entry of the weight matrix $\mathbf{W} \in \mathbb{R}^{n_\mathrm{out} \times n_\mathrm{in}}$, $b_i$ an entry of the bias $\mathbf{b} \in \mathbb{R}^{n_\mathrm{out}}$, $U(-a, a)$ the uniform distribution, whose variance is $a^2/3$, and $n_\mathrm{in}$ the *fan-in*: the number of inputs that are summed to give one output.
# The number of outputs $n_\mathrm{out}$, the *fan-out*, does not occur, although one often reads that the range depends on both dimensions.
# A layer with 400 inputs draws from $(-0.05, 0.05)$, whether it has one output or a million.
#
# If you look into the source of PyTorch for (6.3.1), you will not find it.
# The weights come from the line `init.kaiming_uniform_(self.weight, a=math.sqrt(5))`.
# This function draws from $U(-\beta, \beta)$ with
#
# $$
# \beta = g\,\sqrt{\frac{3}{n_\mathrm{in}}}, \qquad g = \sqrt{\frac{2}{1 + a^2}}. \tag{6.3.2}
# $$
#
# The *gain* $g$ is a number that makes up for what the activation does to the signal, and $a$ is the slope that a leaky ReLU has for negative inputs.
# The factor $\sqrt3$ turns a standard deviation $g/\sqrt{n_\mathrm{in}}$ into the bound of a uniform distribution.
# For $a = 0$, a plain ReLU, the gain is $\sqrt2$: He initialization.
# For $a = \sqrt5$ it is $\sqrt{2/6} = 1/\sqrt3$, the two roots of three cancel, and $\beta = 1/\sqrt{n_\mathrm{in}}$.
# No leaky ReLU is meant: with the slope $\sqrt5$ it would magnify negative values.
# The odd value is there to reproduce, through a new function, the rule that older versions had.

# %%
torch.manual_seed(0)
layer = nn.Linear(400, 1000)
W, b = layer.weight.detach(), layer.bias.detach()  # (1000, 400), (1000,)
gain = nn.init.calculate_gain("leaky_relu", math.sqrt(5))
print(f"gain {gain:.4f}, bound {gain * math.sqrt(3 / 400):.4f}")
print(f"largest weight {W.abs().max():.4f}, std {W.std():.4f}; "
      f"largest bias {b.abs().max():.4f}")

# %%
# check 6.3-C1: |w| <= 1 / sqrt(n_in), standard deviation 0.05 / sqrt(3)
assert W.abs().max() <= 0.05 and b.abs().max() <= 0.05
assert abs(W.std().item() / 0.0289 - 1) < 0.01
assert W.abs().max() > 0.0499 and b.abs().max() > 0.049  # uses the range
assert nn.Linear(4, 8).weight.abs().max() <= 0.5
generator = torch.Generator().manual_seed(1)
twin = init_linear(nn.Linear(400, 1000), "default", generator)  # of 5.4
assert abs(twin.weight.std() / W.std() - 1) < 0.01

# %% [markdown]
# To see that the fan-in counts and the fan-out does not, we draw layers of many shapes and measure.

# %%
fan_ins = [2**k for k in range(4, 12)]  # 16, ..., 2048
torch.manual_seed(0)
_, ax = plt.subplots()
ax.plot(fan_ins, [(3 * n) ** -0.5 for n in fan_ins], "k--", lw=1.2,
        label="predicted")
for k, n_out in enumerate((30, 300, 1000)):
    stds = [nn.Linear(n, n_out).weight.std().item() for n in fan_ins]
    ax.plot(fan_ins, stds, "os^"[k], ms=9 - 2 * k, color=f"C{k}",
            mfc="none", label=f"{n_out} outputs")
    predicted = torch.tensor(fan_ins).mul(3).pow(-0.5)
    assert (torch.tensor(stds) / predicted - 1).abs().max() < 0.1
ax.set(xscale="log", yscale="log", xlabel="fan-in (number of inputs)",
       ylim=(0.01, 0.2),
       ylabel="std of the weights")
ax.legend()
d2l.describe(ax, """Standard deviation of default weights against the
    number of inputs on logarithmic axes. Markers for layers with 30, 300
    and 1000 outputs lie on one another and on the dashed falling line
    one over the root of three times the fan-in.""")

# %% [markdown]
# **Figure 6.3.1.** The scale of PyTorch's default weights, for three numbers of outputs.
# The markers coincide on the line of (6.3.1): the number of outputs has no influence.

# %% [markdown]
# ### Fans of a convolution
#
# A convolutional layer (Chapter 7) slides small windows of weights over an image.
# One output is a sum over a window of $k_h \times k_w$ pixels in all channels that it looks at, so
#
# $$
# n_\mathrm{in} = \frac{c_i}{g_r}\,k_h k_w. \tag{6.3.3}
# $$
#
# Here $c_i$ is the number of input channels, $k_h$ and $k_w$ are height and width of the window, and $g_r$ is the number of groups into which the layer divides its channels; it is 1 unless you ask for more.
# The weight tensor has shape $(c_o, c_i/g_r, k_h, k_w)$ with $c_o$ output channels, so the fan-in is the size of one slice `weight[0]`, for linear and convolutional layers alike.

# %%
def fan_in(layer):
    """Number of products that are summed for one output of the layer."""
    return layer.weight[0].numel()


torch.manual_seed(0)
for layer in (nn.Linear(72, 500), nn.Conv2d(8, 500, 3),
              nn.Conv2d(32, 500, (1, 9), groups=4)):
    bound = fan_in(layer) ** -0.5
    largest = layer.weight.abs().max().item()
    print(f"{str(tuple(layer.weight.shape)):17s} fan-in {fan_in(layer)}, "
          f"largest / bound {largest / bound:.3f}")
    assert fan_in(layer) == 72 and 0.999 < largest / bound <= 1

# %% [markdown]
# ## Built-in initializers
#
# To choose otherwise, we need two things: a function that fills a tensor, and a way to hand it the right tensors.
# The first is in `torch.nn.init`; all its functions end in an underscore, because they change their argument in place, and they run without recording gradients.
# The second is the method `apply` of every module.
# The call `net.apply(fn)` calls `fn(m)` for each module `m` inside `net` and for `net` itself.
# It goes depth first, and a module comes after its children:

# %%
net = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()),
                    nn.Linear(8, 1))
names = {m: name or "net" for name, m in net.named_modules()}
visits = []
net.apply(lambda m: visits.append(names[m]))
print(visits)
assert visits == ["0.0", "0.1", "0", "1", "net"]

# %% [markdown]
# Since `fn` meets every module, including those without weights, it has to look at what it was given.
# It asks with `isinstance`, which also recognizes subclasses of `nn.Linear`; a comparison of types would pass over them in silence, and [Section 6.4](04-lazy-initialization.ipynb) shows where that hurts.
# Our running example is the network of [Section 6.2](02-parameters.ipynb), 4 inputs, 8 hidden units, 1 output.
# The first initializer draws the weights from $\mathcal{N}(0, 0.01^2)$ and sets the biases to 0.

# %%
def make_net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def init_normal(module):
    """Weights from N(0, 0.01^2), biases 0, for linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, mean=0, std=0.01)
        nn.init.zeros_(module.bias)


torch.manual_seed(0)
net = make_net().apply(init_normal)  # apply returns the module
print("first row:", [round(w, 4) for w in net[0].weight[0].tolist()],
      "first bias:", net[0].bias[0].item())

# %%
# check 6.3-C2: biases exactly 0, standard deviation 0.01 within 2 %
assert all(net[i].bias.count_nonzero() == 0 for i in (0, 2))
torch.manual_seed(0)
large = nn.Linear(1000, 1000).apply(init_normal)
assert large.bias.count_nonzero() == 0
assert abs(large.weight.std().item() / 0.01 - 1) < 0.02

# %% [markdown]
# ### A constant start, and why not
#
# Nothing prevents us from making all weights equal.

# %%
def init_constant(module):
    """All weights 1, biases 0. For demonstrations only."""
    if isinstance(module, nn.Linear):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


net = make_net().apply(init_constant)
print("row 0:", net[0].weight[0].tolist(), "bias:", net[0].bias[0].item())

# %% [markdown]
# [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb) gives the reason not to.
# The gradient of a hidden unit's weights is its output weight times something that depends on its own input weights and bias, and otherwise only on the data and the errors of the network, which are the same for all units.
# So two hidden units with equal weights, *into and out of them*, receive equal gradients and stay equal, and eight such units are worth one.
# We watch it happen.
# The target $y = |x_1| - x_2$ needs several hidden units; 50 steps of gradient descent start from constants in one network and from the default in the other.

# %%
def train(net, steps=50, lr=0.02):
    """Loss after full-batch SGD on 100 examples of |x1| - x2."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(100, 4, generator=generator)
    y = X[:, :1].abs() - X[:, 1:2]  # (100, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(net(X), y)
        loss.backward()
        optimizer.step()
    return F.mse_loss(net(X), y).item()


torch.manual_seed(0)
constant, usual = make_net().apply(init_constant), make_net()
train(constant), train(usual)
for name, trained in (("constant", constant), ("default", usual)):
    W = trained[0].weight.detach()  # (8, 4)
    print(f"{name:8s} rank of the first weight matrix:",
          torch.linalg.matrix_rank(W, rtol=1e-4).item())

# %%
# check 6.3-C3: (1, 1, 1, 1) and 0; trained, all rows are still equal
assert torch.equal(net[0].weight[0], torch.ones(4))
assert net[0].bias[0] == 0
W = constant[0].weight.detach()
assert (W - 1).abs().max() > 0.05  # it has moved
torch.testing.assert_close(W, W[:1].expand(8, 4), atol=1e-5, rtol=0)
assert torch.linalg.matrix_rank(W, rtol=1e-4) == 1
assert torch.linalg.matrix_rank(usual[0].weight, rtol=1e-4) == 4

# %% [markdown]
# Both halves of the condition count, although many texts name only the first.
# As a control we make only the first layer constant and leave the output weights at their random default.
# Now the gradients of the units differ in size and sign, and the units part.

# %%
def three_starts(seed, steps):
    """All layers constant, only the first one, none: nets and losses."""
    torch.manual_seed(seed)
    first, usual = make_net(), make_net()
    first[0].apply(init_constant)  # the output weights stay random
    nets = make_net().apply(init_constant), first, usual
    return nets, [train(net, steps) for net in nets]


caught_up = 0
for seed in range(3):
    nets, losses = three_starts(seed, 1000)
    norm = torch.linalg.vector_norm  # of all entries
    apart = [norm(W - W.mean(dim=0)) / norm(W)
             for W in (net[0].weight.detach() for net in nets)]
    later = [train(net, 3000) for net in nets]
    print("spread of the rows:", " ".join(f"{s:.2f}" for s in apart),
          "  loss:", " ".join(f"{x:.2f}" for x in losses), "and later",
          " ".join(f"{x:.2f}" for x in later))
    assert apart[0] < 1e-4 and apart[1] > 0.1
    assert losses[0] > 1.5 * losses[1] > 6 * losses[2]
    assert later[0] > 1.3 * later[1] and later[0] > 20 * later[2]
    caught_up += later[1] < 0.05
assert caught_up == 2

# %% [markdown]
# Each line belongs to a seed and has numbers for three starts: all layers constant, the first layer constant, default.
# After 1000 steps the rows of the constant network are still equal, and its loss is the highest.
# With random output weights the same first layer comes apart; after 1000 steps it is behind the random start, and 3000 steps later it has caught up for two of these three seeds.

# %% [markdown]
# Constants are useful in the tests of a program, where one wants to compute the output by hand, and harmless in biases: these may all start at 0, because the weights already tell the units apart.
#
# ### Different parts, different schemes
#
# `apply` works on any module, so a part of the network can get its own scheme.
# The first layer gets Xavier's uniform weights, whose entries obey
#
# $$
# |w_{ij}| \le \sqrt{\frac{6}{n_\mathrm{in} + n_\mathrm{out}}}, \tag{6.3.4}
# $$
#
# where fan-in and fan-out both count: the rule, derived in [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb), is a compromise between the forward and the backward pass.
# For 4 inputs and 8 outputs the bound is $\sqrt{6/12} \approx 0.7071$.
# The last layer gets the constant 42.

# %%
def init_xavier(module):
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)


def init_42(module):
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.weight, 42)


torch.manual_seed(0)
net = make_net()
net[0].apply(init_xavier)
net[2].apply(init_42)
print(f"first layer, largest weight: {net[0].weight.abs().max():.3f}")
print("last layer:", net[2].weight[0].tolist())

# %%
# check 6.3-C4: Xavier bound sqrt(6 / 12) in one layer, 42 in the other
bound = math.sqrt(6 / (4 + 8))
assert math.isclose(bound, 0.7071, abs_tol=1e-4)
torch.manual_seed(0)
weights = torch.stack([make_net()[0].apply(init_xavier).weight
                       for _ in range(100)])  # (100, 8, 4)
assert 0.7 < weights.abs().max() <= bound
assert (net[2].weight == 42).all() and net[2].weight.shape == (1, 8)

# %% [markdown]
# Xavier's bound is above the default bound 0.5 of this layer; a function without a line for the biases leaves them as they were.
#
# ### More of them
#
# | initializer | what it fills in | made for |
# | --- | --- | --- |
# | `kaiming_normal_`, `kaiming_uniform_` | variance $g^2/n_\mathrm{in}$ | ReLU and its relatives |
# | `xavier_normal_`, `xavier_uniform_` | variance $2g^2/(n_\mathrm{in}+n_\mathrm{out})$ | tanh, attention |
# | `orthogonal_` | orthonormal rows or columns | deep and recurrent networks |
# | `dirac_` | a convolution that copies its input | very deep convolutional networks |
# | `trunc_normal_` | normal, values outside $[a, b]$ drawn again | vision transformers |
#
# For a matrix with no more rows than columns, `orthogonal_` makes the rows orthonormal, $\mathbf{W}\mathbf{W}^\top = \mathbf{I}$; otherwise the columns.
# A convolution after `dirac_` returns its input exactly, which a residual branch or an added layer may want.

# %%
# check 6.3-C7: orthonormal rows; a convolution that is the identity
torch.manual_seed(0)
W = nn.init.orthogonal_(torch.empty(6, 10))
torch.testing.assert_close(W @ W.mT, torch.eye(6), atol=1e-5, rtol=0)
conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
nn.init.dirac_(conv.weight)  # (3, 3, 3, 3)
images = torch.randn(2, 3, 8, 8)
assert torch.equal(conv(images), images)

# %% [markdown]
# Two of the functions do something other than many users think.
# `trunc_normal_(w, std=0.02)` sounds as if it cut the distribution off at two standard deviations.
# Its bounds `a=-2` and `b=2` are *values*, not multiples of `std`: with `std=0.02` they lie a hundred standard deviations away and never act.
# Worse, the formula behind it loses precision so far from the centre: in several versions of PyTorch it returned, once in millions of draws, a value *at* the bound, a weight of a hundred standard deviations.
# And `kaiming_normal_` has `nonlinearity="leaky_relu"` as default with slope `a=0`, which happens to be the ReLU; give the argument, so that a reader need not know it.

# %%
torch.manual_seed(0)
w = nn.init.trunc_normal_(torch.empty(1000, 1000), std=0.02)
cut = nn.init.trunc_normal_(torch.empty(1000, 1000), std=0.02,
                            a=-0.04, b=0.04)
beyond = [(t.abs() > 0.0401).float().mean().item() for t in (w, cut)]
print(f"beyond two std: {beyond[0]:.1%} with the default bounds, "
      f"{beyond[1]:.1%} with bounds given")
assert abs(beyond[0] - 0.045) < 0.002 and beyond[1] == 0
print(f"std after the cut at two: {cut.std() / 0.02:.2f} of what was asked")
assert abs(cut.std() / 0.02 - 0.88) < 0.01

# %% [markdown]
# The last line shows a second point: a cut at two standard deviations removes the tails, and 12 % of the standard deviation with them.
#
# ## An initializer of our own
#
# A scheme that is not in the library is written like the others.
# Suppose the weights are to follow
#
# $$
# w \sim \begin{cases} U(5, 10) & \text{with probability } \tfrac14, \\ 0 & \text{with probability } \tfrac12, \\ U(-10, -5) & \text{with probability } \tfrac14. \end{cases} \tag{6.3.5}
# $$
#
# Here $w$ is one entry of a weight matrix; the entries are independent.
# There is no need to toss coins.
# A number from $U(-10, 10)$ falls into $(5, 10)$ with probability $\frac14$, into $(-10, -5)$ with probability $\frac14$, and between them with probability $\frac12$; within each interval it is uniform.
# So we draw from $U(-10, 10)$ and zero what is smaller than 5 in absolute value.

# %%
def init_uniform_gap(weight, low=5.0, high=10.0):
    """Fill from U(-high, high), then zero entries below `low`."""
    with torch.no_grad():
        weight.uniform_(-high, high)
        return weight.masked_fill_(weight.abs() < low, 0)


def my_init(module):
    if isinstance(module, nn.Linear):
        init_uniform_gap(module.weight)


torch.manual_seed(0)
large = nn.Linear(1000, 1000).apply(my_init)
W = large.weight.detach()
print("first weights:", [round(w, 2) for w in W[0, :6].tolist()])

# %% [markdown]
# The mean is 0 by symmetry, so the variance is the second moment.
# Only the half with $|w| \ge 5$ contributes, and there $|w|$ is uniform on $(5, 10)$:
#
# $$
# \operatorname{Var}(w) = \frac12 \cdot \frac{1}{5}\int_5^{10} x^2\,dx = \frac12 \cdot \frac{10^3 - 5^3}{3 \cdot 5} \approx 29.17. \tag{6.3.6}
# $$
#
# The integration variable $x$ runs over the absolute values; the standard deviation is $\sqrt{29.17} \approx 5.40$.

# %%
# check 6.3-C5: shares 1/4, 1/2, 1/4, standard deviation 5.40, and a gap
variance = (10**3 - 5**3) / (3 * 5) / 2
assert math.isclose(math.sqrt(variance), 5.40, abs_tol=0.002)
shares = [(W <= -5), (W == 0), (W >= 5)]
for mask, share in zip(shares, (0.25, 0.5, 0.25)):
    assert abs(mask.float().mean() - share) < 0.01
assert abs(W.std() - 5.40) < 0.05 and W.abs().max() <= 10
assert not ((W != 0) & (W.abs() < 5)).any()

# %% tags=["hide-input"]
_, ax = plt.subplots()
bins = [-10.5 + k for k in range(22)]  # width 1, one of them around 0
counts = torch.histogram(W.flatten(), torch.tensor(bins)).hist  # (21,)
ax.bar(range(-10, 11), (counts / W.numel()).tolist(), width=0.9)
ax.axhline(1 / 20, color="C1", ls="--", lw=1.2)
ax.text(-4.2, 0.06, "1/20", color="C1")
ax.set(xlabel="weight", ylabel="share", yscale="log", ylim=(0.01, 1))
d2l.describe(ax, """Histogram of one million weights with bins of width
    one and a logarithmic axis. The bin at zero holds one half. Bins from 1
    to 4 and from minus 4 to minus 1 are empty. Bins from 6 to 9 on both
    sides hold one twentieth each; those at 5 and 10 hold half of it.""")

# %% [markdown]
# **Figure 6.3.2.** A million weights of `my_init`: one half is 0, the rest is level beyond the gap, at $\frac1{20}$ for each unit of width.
# The bins at $\pm5$ and $\pm10$ lie half outside the range.

# %% [markdown]
# ### Direct edits
#
# Parameters are tensors, and any tensor operation may set them.
# It has to happen under `torch.no_grad()`: autograd refuses in-place changes of a leaf that requires gradients, since it could no longer say what the gradient refers to.

# %%
net = make_net().apply(init_constant)
try:
    net[0].weight += 1
except RuntimeError as error:
    print(error)

with torch.no_grad():
    net[0].weight += 1
    net[0].weight[0, 0] = 42
print(net[0].weight[:2].tolist())
assert net[0].weight[0].tolist() == [42, 2, 2, 2]
assert net[0].weight.requires_grad and net[0].weight.is_leaf

# %% [markdown]
# To go back to the layer's own default, call the method that the constructor calls.
# It draws new numbers, not the old ones.

# %%
torch.manual_seed(0)
net = make_net()
first = net[0].weight.detach().clone()
for module in net.modules():
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
assert not torch.equal(net[0].weight, first)
assert net[0].weight.abs().max() <= 0.5  # the default bound for 4 inputs

# %% [markdown]
# ## Predict, then measure
#
# The shape of its histogram says little about an initializer; what counts is what it does to a signal on its way through many layers.
# The theory of [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb) makes it a prediction with one number.
# For a ReLU layer with zero biases,
#
# $$
# q_l = r\,q_{l-1}, \qquad r = \tfrac12\,n_\mathrm{in}\operatorname{Var}(w), \qquad \sqrt{q_L} = r^{L/2}\sqrt{q_0}. \tag{6.3.7}
# $$
#
# Here $q_l$ is the mean of the squared activations behind layer $l$, a positive number, $q_0$ that of the inputs, $L$ the number of layers, and $r$ the factor of one layer.
# The variance of an initializer determines $r$.
# The following table holds for square layers, $n_\mathrm{in} = n_\mathrm{out} = n$:
#
# | scheme | $\operatorname{Var}(w)$ | $r$ | $r^{L/2}$ for $L=20$, $n=256$ |
# | --- | --- | --- | --- |
# | He | $2/n$ | $1$ | $1$ |
# | Xavier | $1/n$ | $1/2$ | $2^{-10} \approx 10^{-3}$ |
# | default, zero biases | $1/(3n)$ | $1/6$ | $6^{-10} \approx 1.7 \cdot 10^{-8}$ |
# | standard deviation 0.01 | $10^{-4}$ | $0.0128$ | $0.0128^{10} \approx 1.2 \cdot 10^{-19}$ |
# | `my_init` | $29.17$ | $3733$ | $3733^{10} \approx 5 \cdot 10^{35}$ |
#
# The function below measures: a deep network, initialized by `apply` with any function, a batch of standard normal inputs, and the root mean square of the activations behind each layer.
# It works for any initializer of the form `(module) -> None`, while `signal_stats` of [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb) knows the schemes that it was given.

# %%
def signal_std(init_fn, depth=20, width=256, seed=0):
    """Root mean square activation behind each layer, a list (depth,).

    `init_fn(module)` initializes linear layers, followed by ReLU; the
    inputs are standard normal. None leaves the default of nn.Linear.
    """
    torch.manual_seed(seed)
    net = nn.Sequential(*(nn.Linear(width, width, dtype=f64)
                          for _ in range(depth)))
    if init_fn is not None:
        net.apply(init_fn)
    H, scales = torch.randn(width, width, dtype=f64), []
    with torch.no_grad():
        for layer in net:
            H = torch.relu(layer(H))  # (width, width)
            scales.append(H.square().mean().sqrt().item())
    return scales

# %% [markdown]
# The rule speaks of zero biases, so a small factory makes initializers that fill the weights with a function and zero the biases.

# %%
def with_zero_bias(fill):
    """An initializer: `fill(weight)` for linear layers, biases 0."""
    def init(module):
        if isinstance(module, nn.Linear):
            fill(module.weight)
            nn.init.zeros_(module.bias)
    return init


he = with_zero_bias(
    lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"))
xavier = with_zero_bias(nn.init.xavier_uniform_)
default = with_zero_bias(
    lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)))
schemes = {"He": (he, 1), "default": (None, None), "Xavier": (xavier, 1/2),
           "default, bias 0": (default, 1/6),
           "std 0.01": (init_normal, 128e-4)}
scales = {name: torch.tensor([signal_std(init, seed=s) for s in range(5)])
          for name, (init, _) in schemes.items()}  # (5, 20) each

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(6.4, 3.4))
index = torch.arange(1, 21)
for k, (name, (_, r)) in enumerate(schemes.items()):
    for s, run in enumerate(scales[name]):
        ax.plot(index, run, color=f"C{k}", lw=1, marker="os^Dv"[k], ms=3,
                label=name if s == 0 else None)
    if r is not None:
        ax.plot(index, r ** (index / 2), "k--", lw=1)
ax.plot([], [], "k--", lw=1, label="predicted")
ax.set(yscale="log", xlabel="layer", ylabel="root mean square",
       xticks=range(2, 21, 3))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
d2l.describe(ax, """Size of the activations behind 20 layers on a
    logarithmic axis, five seeds for each of five schemes. He stays near 1.
    The default levels off near 0.03. Xavier falls to 1e-3, the default
    without biases to 1e-8 and standard deviation 0.01 to 1e-19, each along
    its dashed straight line.""")

# %% [markdown]
# **Figure 6.3.3.** Five schemes, five seeds each, 20 ReLU layers of width 256.
# The dashed lines are (6.3.7), computed without any random number.

# %%
# check 6.3-C6: output scale after 20 layers, for every seed
last = {name: runs[:, -1] for name, runs in scales.items()}
assert ((0.2 < last["He"]) & (last["He"] < 3)).all()
assert ((3e-4 < last["Xavier"]) & (last["Xavier"] < 3e-3)).all()
off = last["default, bias 0"] / 6.0**-10
assert ((1 / 3 < off) & (off < 3)).all()
assert (last["std 0.01"] < 1e-18).all()
assert all(len(set(v.tolist())) == 5 for v in last.values())  # five draws
assert ((0.02 < last["default"]) & (last["default"] < 0.04)).all()
torch.manual_seed(0)  # one layer by hand
layer = nn.Linear(256, 256, dtype=f64).apply(he)
H = torch.relu(layer(torch.randn(256, 256, dtype=f64)))
assert abs(signal_std(he, depth=1)[0] ** 2 - H.square().mean()) < 1e-9
wild = signal_std(with_zero_bias(init_uniform_gap))[-1]  # my_init
assert 1 / 3 < wild / (256 / 2 * variance) ** 10 < 3
for name, values in last.items():
    print(f"{name:16s} 10^{values.median().log10():.1f}")

# %% [markdown]
# The default without a change is the odd one out: its curve bends and stays.
# [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb) explains it: the random biases, the same for every input, put a floor under the activations, while the part that depends on the input goes on shrinking by $\sqrt{1/6}$ in each layer.
# A root mean square that looks healthy can belong to a network that gives the same answer to everything, which is why `signal_stats` returns the spread across inputs too:

# %%
size, spread = signal_stats(torch.relu, "default", depth=20)
print(f"size 10^{size[-1].log10():.1f}, "
      f"spread across inputs 10^{spread[-1].log10():.1f}")
assert abs(size[-1] / last["default"].mean() - 1) < 0.2
assert spread[-1] < 1e-6 * size[-1]

# %% [markdown]
# None of this makes the default useless.
# In two or three layers the part of the signal that depends on the input shrinks by a factor of 6 to 15, by (6.3.7), and most networks of this book so far have trained with that; normalization layers (Chapter 8) undo the scale at each step.
# Set the initialization yourself if a network is deep and has no normalization, if a paper that you reproduce says how, or if the last layer should start with small outputs.

# %% [markdown]
# ## Summary
#
# - PyTorch draws weights and biases of linear and convolutional layers uniformly between $\pm1/\sqrt{n_\mathrm{in}}$; the call with `a=math.sqrt(5)` says the same, and the number of outputs plays no role.
# - `net.apply(fn)` hands every module to `fn`, children before parents; `net[0].apply(fn)` restricts it to a part.
# - Functions of `torch.nn.init` work in place and without gradients; your own code does the same under `torch.no_grad()`.
# - Hidden units that start with equal weights, into and out of them, stay equal under gradient descent.
# - Half of fan-in times variance is the factor of a ReLU layer; to the power $L/2$ it predicts the signal of a deep network before the first draw.
# - The bounds of `trunc_normal_` are values, not standard deviations.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 6.3-1
#
# In a nested network, initialize only those layers whose *name* ends in `2` with the constant 1, and leave all others as they are, to the last bit.

# %% [markdown]
# #### Solution 6.3-1

# %% [markdown]
# `apply` passes modules without names, so we use `named_modules`.
# The name of a nested module is a path such as `0.2`.

# %%
torch.manual_seed(0)
net = nn.Sequential(make_net(), nn.ReLU(), nn.Linear(1, 3),
                    nn.Linear(3, 3))
before = {key: p.clone() for key, p in net.state_dict().items()}
chosen = [name for name, _ in net.named_modules() if name.endswith("2")]
for name in chosen:
    init_constant(net.get_submodule(name))
print(chosen)
for key, p in net.state_dict().items():
    same = torch.equal(p, before[key])
    assert same != (key.rpartition(".")[0] in ("0.2", "2"))

# %% [markdown]
# ### Exercise 6.3-2
#
# Which gain does PyTorch recommend for tanh?
# Where might the number come from?
# Find the scale at which the activations of a deep tanh network settle with this gain and with the gain 1.

# %% [markdown]
# #### Solution 6.3-2

# %% [markdown]
# `calculate_gain` returns $\frac53$, a recommendation of the library that its documentation does not derive.
# An exact value that keeps a second moment of 1 would be $1/\sqrt{E[\tanh(z)^2]} \approx 1.59$ for a standard normal $z$, as in [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb), so $\frac53$ is a round number above it.
#
# A look at the fixed points says more.
# In a wide network the inputs of the activation are normal with standard deviation $g\sqrt{q}$, so $q \leftarrow E[\tanh(g\sqrt{q}\,z)^2]$.
# Because $|\tanh(x)| < |x|$, the gain 1 has only the fixed point 0, and the signal shrinks, though slowly.
# With $\frac53$ it settles at a root mean square of about 0.65: where tanh is curved, but not flat.

# %%
gain = nn.init.calculate_gain("tanh")
assert gain == 5 / 3
z = torch.linspace(-8, 8, 4001, dtype=f64)
density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def second_moment(g, q):
    """E[tanh(g sqrt(q) z)^2] for standard normal z."""
    values = torch.tanh(g * math.sqrt(q) * z).square()
    return torch.trapezoid(values * density, z).item()


exact = second_moment(1, 1) ** -0.5
assert abs(exact - 1.59) < 0.01
for g in (1, exact, gain):
    q = 1.0
    for _ in range(100):
        q = second_moment(g, q)
    print(f"gain {g:.3f}: root mean square {math.sqrt(q):.2f}")
assert abs(math.sqrt(q) - 0.65) < 0.01
size, _ = signal_stats(torch.tanh, gain / 16, depth=50)  # width 256
assert abs(size[-1] - 0.65) < 0.05

# %% [markdown]
# The gain 1.59 does what it promises, one step earlier: the *inputs* of the activations settle at a root mean square of 1, and the activations at $1/1.59 = 0.63$.

# %% [markdown]
# ### Exercise 6.3-3
#
# Give the fan-in and the standard deviation of He initialization for `nn.Conv2d(8, 16, 3)`, and check them by drawing.

# %% [markdown]
# #### Solution 6.3-3

# %% [markdown]
# Each output sums $8 \cdot 3 \cdot 3 = 72$ products, so the standard deviation is $\sqrt{2/72} = \frac16$.

# %%
conv = nn.Conv2d(8, 16, 3)
assert fan_in(conv) == 72
torch.manual_seed(0)
draws = torch.stack([
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu").clone()
    for _ in range(50)])  # (50, 16, 8, 3, 3)
print(f"predicted {math.sqrt(2 / 72):.4f}, measured {draws.std():.4f}")
assert abs(draws.std() * 6 - 1) < 0.02

# %% [markdown]
# ### Exercise 6.3-4
#
# Which standard deviation $\sigma$ of normal weights keeps the signal of a ReLU network of width 256 stable?
# Predict it from (6.3.7), then confirm it without the theory, by a search.

# %% [markdown]
# #### Solution 6.3-4

# %% [markdown]
# $r = 1$ needs $\sigma = \sqrt{2/256} \approx 0.0884$.
# For the search we use that the signal grows with $\sigma$, and halve the interval between a value that is too small and one that is too large.
# With zero biases and the same seed, the network with $2\sigma$ is exactly $2^L$ times the network with $\sigma$, so the curve is monotonic.

# %%
def final_scale(sigma):
    normal = with_zero_bias(lambda w: nn.init.normal_(w, std=sigma))
    return sum(math.log(signal_std(normal, seed=s)[-1]) for s in range(2))


low, high = 0.01, 1.0
for _ in range(9):
    sigma = math.sqrt(low * high)  # the middle on a logarithmic axis
    low, high = (low, sigma) if final_scale(sigma) > 0 else (sigma, high)
predicted = math.sqrt(2 / 256)
print(f"predicted {predicted:.4f}, found {sigma:.3f}")
assert abs(sigma / predicted - 1) < 0.05
doubling = (final_scale(0.2) - final_scale(0.1)) / (2 * 20)  # 2 seeds
assert abs(doubling - math.log(2)) < 1e-9  # of each of 20 layers

# %% [markdown]
# ### Exercise 6.3-5
#
# Create two networks with identical weights by means of a seed.
# Then show two ways in which the same seed gives *different* weights.

# %% [markdown]
# #### Solution 6.3-5

# %% [markdown]
# Setting the seed before each construction gives the same numbers in the same order.
# The seed fixes the sequence, not the layers: a second network without a new seed continues the sequence, and anything drawn in between, such as an extra layer, shifts what follows.

# %%
def seeded_net(*extra):
    torch.manual_seed(1)
    for make in extra:
        make()  # draws random numbers and is thrown away
    return make_net()


a, b = seeded_net(), seeded_net()
for p, q in zip(a.parameters(), b.parameters()):
    assert torch.equal(p, q)
assert not torch.equal(a[0].weight, make_net()[0].weight)
shifted = seeded_net(lambda: nn.Linear(2, 2))
assert not torch.equal(a[0].weight, shifted[0].weight)

# %% [markdown]
# If the weights must be reproducible whatever else a program draws, pass a `torch.Generator` to the initializer: all random functions of `nn.init` accept one.

# %% [markdown]
# ## Sources
#
# - X. Glorot, Y. Bengio (2010). Understanding the difficulty of training deep feedforward neural networks. [AISTATS](https://proceedings.mlr.press/v9/glorot10a.html): the rule (6.3.4).
# - K. He, X. Zhang, S. Ren, J. Sun (2015). Delving deep into rectifiers. [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): the factor of a ReLU layer and its cure.
# - A. M. Saxe, J. L. McClelland, S. Ganguli (2014). Exact solutions to the nonlinear dynamics of learning in deep linear neural networks. [arXiv:1312.6120](https://arxiv.org/abs/1312.6120): orthogonal initialization.
# - S. Zagoruyko, N. Komodakis (2017). DiracNets. [arXiv:1706.00388](https://arxiv.org/abs/1706.00388): convolutions that contain the identity.
# - PyTorch documentation, [torch.nn.init](https://docs.pytorch.org/docs/stable/nn.init.html); PyTorch, [issue 15314](https://github.com/pytorch/pytorch/issues/15314): the origin of the slope $\sqrt5$; PyTorch, [issue 155588](https://github.com/pytorch/pytorch/issues/155588): outliers of `trunc_normal_`.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the examples with the constants 1 and 42 and the distribution (6.3.5).
