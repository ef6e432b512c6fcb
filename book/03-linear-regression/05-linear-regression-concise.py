# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         timing_steps: 20
#         num_repeats: 10
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
# # 3.5 Concise implementation of linear regression
#
# PyTorch has a ready-made part for everything that [Section 3.4](04-linear-regression-scratch.ipynb) wrote by hand.
# The short program does not quite compute the same as the long one: one part starts from other values than the program seems to ask for, and another doubles every gradient.
# We find both differences, remove them, and then check that the two programs agree step by step.
#
# **You will**
#
# - write linear regression with `nn.Linear`, `nn.MSELoss` and `torch.optim.SGD`;
# - say when the initialization of a layer has no effect, and how to make sure that it takes effect;
# - convert a learning rate between losses that differ by a constant factor;
# - test that two training programs are equivalent, rather than compare their final losses.
#
# **Cost**: a few seconds on a CPU, no download, no use of a GPU.

# %%
import math
import time
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    LinearRegressionScratch, Module, SyntheticRegressionData, Trainer,
    sgd_step)

d2l.use_style()

# %% tags=["parameters"]
num_repeats = 20  # data sets for each size in Exercise 3.5-4
timing_steps = 200  # optimizer steps that Exercise 3.5-5 times
try_compile = False  # torch.compile needs a C++ compiler and a minute

# %% [markdown]
# ## The model
#
# In linear regression every input is connected to every output, of which there is one.
# A layer of this kind is called *fully connected*; PyTorch's name for it is `nn.Linear`.
# For a batch of $n$ examples with $d$ features it computes
#
# $$\hat{\mathbf{y}} = \mathbf{X}\mathbf{W}^\top+\mathbf{b}, \tag{3.5.1}$$
#
# where $\mathbf{X}\in\mathbb{R}^{n\times d}$ holds the features, $\mathbf{W}\in\mathbb{R}^{1\times d}$ the weights, $\mathbf{b}\in\mathbb{R}^{1}$ the bias, and $\hat{\mathbf{y}}\in\mathbb{R}^{n\times1}$ the predictions.
# The layer stores one *row* for each output, so `weight` is the transpose of the column `w` of [Section 3.4](04-linear-regression-scratch.ipynb).
# Both tensors are wrapped in `nn.Parameter`, hence registered: an optimizer finds them, and `state_dict` saves them.

# %%
layer = nn.Linear(2, 1)  # two inputs, one output
X = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])  # (3, 2)
for name, param in layer.named_parameters():
    print(f"{name:7} {tuple(param.shape)}")
torch.testing.assert_close(layer(X), X @ layer.weight.mT + layer.bias)

# %%
# check 3.5-C8: two weights and a bias, all registered
assert sum(p.numel() for p in layer.parameters()) == 3
assert list(layer.state_dict()) == ["weight", "bias"]

# %% [markdown]
# A new layer already has values.
# PyTorch draws each weight, and the bias too, from the uniform distribution
#
# $$W_{1j},\ b\ \sim\ \mathcal{U}\left(-\frac1{\sqrt d},\frac1{\sqrt d}\right),\qquad \text{standard deviation}\ \frac1{\sqrt{3d}}, \tag{3.5.2}$$
#
# where $W_{1j}$ is the weight of feature $j$, $b$ the only entry of $\mathbf{b}$ and $d$ the number of inputs; all are numbers.
# The standard deviation follows from that of a uniform distribution on $[-a,a]$, which is $a/\sqrt3$.
# For $d=200$ the bounds are $\pm0.071$ and the standard deviation is $1/\sqrt{600}\approx0.041$, four times the 0.01 of [Section 3.4](04-linear-regression-scratch.ipynb).
#
# To start as in [Section 3.4](04-linear-regression-scratch.ipynb) we overwrite these values with the functions of `nn.init`.
# Their names end in an underscore because they change the tensor in place; they do so without autograd recording it.

# %%
torch.manual_seed(0)
layer = nn.Linear(200, 1)
bound, before = layer.weight.abs().max().item(), layer.weight.std().item()
nn.init.normal_(layer.weight, mean=0, std=0.01)
nn.init.zeros_(layer.bias)
after = layer.weight.std().item()
print(f"largest {bound:.3f}, standard deviation {before:.4f} -> {after:.4f}")
assert bound <= 1 / math.sqrt(200) and 0.007 < after < 0.0125

# %% [markdown]
# ### A layer that does not know its size
#
# In a deep network it is tedious to work out the number of inputs of every layer.
# `nn.LazyLinear(1)` asks only for the number of outputs and reads the number of inputs off the first batch.
# Until then its parameters have no shape.
#
# ![Two time lines of a lazy layer. In both it passes from no elements, through the first batch, which creates the parameters and fills them by default, to use. Above, the own initialization comes before the first batch and is lost. Below, it comes after the first batch and lasts.](img/lazy-timeline.svg)
#
# **Figure 3.5.1.** The first batch creates the parameters and gives them default values; an initialization before it is lost, one after it lasts.
#
# The new layer says so:

# %%
lazy = nn.LazyLinear(1)
print(lazy)
print(type(lazy.weight).__name__, "with", lazy.weight.data.numel(),
      "elements")

# %% [markdown]
# What happens if we initialize it now?
# Much published code does it as in the next cell, and nothing complains:

# %%
lazy.weight.data.normal_(0, 0.01)  # the trap: silently does nothing
lazy.bias.data.fill_(0)

torch.manual_seed(0)
X200 = torch.randn(32, 200)  # (32, 200)
lazy(X200)  # the first batch: now the layer gets its shape
print(f"standard deviation {lazy.weight.std().item():.4f}, wanted 0.0100")
print(f"bias {lazy.bias.item():.4f}, wanted 0")

# %% [markdown]
# Neither call had any effect.
# The tensor behind `.data` has no elements, so filling it with normal numbers fills nothing, which is legal.
# The first batch then creates the real tensors and initializes them by the default (3.5.2): 0.041 instead of 0.01, and a bias that is not 0.
#
# `.data` bypasses the checks of the parameter and reaches the bare storage behind it.
# `nn.init.normal_` asks the parameter itself, and gets an error that says what is wrong:

# %%
# check 3.5-C1: nn.init rejects a lazy parameter, .data does not
fresh = nn.LazyLinear(1)
assert isinstance(fresh.weight, nn.UninitializedParameter)
assert fresh.weight.data.numel() == 0
try:
    nn.init.normal_(fresh.weight, 0, 0.01)
    message = None
except ValueError as error:
    message = str(error)
print("ValueError:", message.split(" in <")[0])
assert message is not None and "uninitialized" in message
fresh.weight.data.normal_(0, 0.01)  # raises nothing
assert isinstance(fresh.weight, nn.UninitializedParameter)

# %%
# check 3.5-C2: the weights follow the default, not our call
assert 0.035 < lazy.weight.std() < 0.047  # 1 / sqrt(600) = 0.0408
assert lazy.weight.abs().max() <= 1 / math.sqrt(200)
assert lazy.bias != 0

# %% [markdown]
# The remedy is the right order: first a batch, then the initialization.
# The batch may hold anything that has the right width; its output is thrown away.

# %%
torch.manual_seed(0)
repaired = nn.LazyLinear(1)
with torch.no_grad():
    repaired(torch.zeros(1, 200))  # any batch of width 200
nn.init.normal_(repaired.weight, 0, 0.01)
nn.init.zeros_(repaired.bias)
print(repaired)
print(f"standard deviation {repaired.weight.std().item():.4f}")

# %%
# check 3.5-C3: after the first batch the initialization holds
assert 0.007 < repaired.weight.std() < 0.0125 and repaired.bias == 0
kept = repaired.weight.detach().clone()
repaired(X200)  # a second batch changes nothing
assert torch.equal(repaired.weight, kept)

# %% [markdown]
# One layer has 200 weights, too few to see the shape of a distribution.
# Twenty layers show it.

# %%
def start_weights(repair):
    """Weights of a lazy layer with 200 inputs after its first batch."""
    layer = nn.LazyLinear(1)
    if not repair:
        layer.weight.data.normal_(0, 0.01)  # no effect
    layer(torch.zeros(1, 200))
    if repair:
        nn.init.normal_(layer.weight, 0, 0.01)
    return layer.weight.detach()  # (1, 200)


torch.manual_seed(1)
lost, fixed = (torch.cat([start_weights(repair) for _ in range(20)])
               for repair in (False, True))  # (20, 200) each

# %% tags=["hide-input"]
fig, ax = plt.subplots()
bins = torch.linspace(-0.08, 0.08, 65)
grid = torch.linspace(-0.08, 0.08, 401)
for weights, when, color in ((lost, "before", "C1"), (fixed, "after", "C0")):
    ax.hist(weights.flatten(), bins, density=True, color=color, alpha=0.6,
            label=f"initialized {when} the first batch")
ax.plot(grid, torch.exp(-grid**2 / 2e-4) / math.sqrt(2e-4 * math.pi), "k--",
        lw=1.2, label=r"intended, $\mathcal{N}(0, 0.01^2)$")
a = 1 / math.sqrt(200)  # the default is uniform on [-a, a]
ax.plot([-a, -a, a, a], [0, 0.5 / a, 0.5 / a, 0], "k:", lw=1.5,
        label="default (3.5.2)")
ax.set(xlabel="weight", ylabel="density", xlim=(-0.08, 0.08), ylim=(0, 66))
ax.legend(loc="upper right")
d2l.describe(ax, """Two histograms of the weights of a layer with 200
    inputs. Initialized before the first batch they are spread evenly
    between -0.071 and 0.071; initialized after it they form a narrow bell
    of standard deviation 0.01 around zero.""")

# %% [markdown]
# **Figure 3.5.2.** The same call of the initialization, before and after the first batch.
# Before it, the weights are those that PyTorch chose.

# %% [markdown]
# For two features and a convex loss the wrong start does little harm and goes unnoticed.
# It does harm where the start survives training.
# By (3.5.2) the half squared norm of the weights starts at $\frac12\cdot d\cdot\frac1{3d}=\frac16$ on average, whatever the number of inputs, where $\frac12\cdot200\cdot0.01^2=0.01$ was intended.
# [Section 3.7](07-weight-decay.ipynb) studies penalties on exactly this quantity, with 200 inputs and 20 examples; there the lost initialization distorts the result.

# %%
# check: the lost start has half squared norm 1/6, not 0.01
half_norms = (lost**2).sum(dim=1) / 2, (fixed**2).sum(dim=1) / 2  # (20,)
print(f"half squared norm: {half_norms[0].mean().item():.3f} instead of "
      f"{half_norms[1].mean().item():.3f}")
assert abs(half_norms[0].mean() - 1 / 6) < 0.01
assert abs(half_norms[1].mean() - 0.01) < 0.001

# %% [markdown]
# ## The loss
#
# `nn.MSELoss` is the mean squared error.
# It differs from the loss of [Section 3.4](04-linear-regression-scratch.ipynb), (3.4.2), by a factor:
#
# $$L_{\mathrm{MSE}} = \frac1{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\left(\hat y^{(i)}-y^{(i)}\right)^2 = 2L_{\mathcal{B}},\qquad \partial_{\mathbf{w}}L_{\mathrm{MSE}} = \frac2{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\mathbf{x}^{(i)}\left(\hat y^{(i)}-y^{(i)}\right). \tag{3.5.3}$$
#
# Here $\mathcal{B}$ is the minibatch, $|\mathcal{B}|$ its number of examples, $\hat y^{(i)}$ and $y^{(i)}$ prediction and label of example $i$, both numbers, $\mathbf{x}^{(i)}\in\mathbb{R}^d$ its features and $\mathbf{w}\in\mathbb{R}^d$ the weights.
# The minimum is where it was, but the gradients are twice as long, and a step of SGD with them is twice as long too:
#
# $$\mathbf{w}-\eta\,\partial_{\mathbf{w}}L_{\mathrm{MSE}} = \mathbf{w}-(2\eta)\,\partial_{\mathbf{w}}L_{\mathcal{B}}. \tag{3.5.4}$$
#
# A learning rate of $\eta=0.03$ acts like 0.06 in [Section 3.4](04-linear-regression-scratch.ipynb).
# So the error that is left after 96 steps is not $0.97^{96}\approx0.054$ times the first one but $0.94^{96}\approx0.0026$ times: 20 times smaller, and no credit to the library.
# In return the limit of stability, $\eta<2/\lambda_{\max}$ in [Section 3.1](01-linear-regression.ipynb), is halved: $\eta<1/\lambda_{\max}$.

# %%
y_hat, y = torch.tensor([[3.0]]), torch.tensor([[5.0]])
half = ((y_hat - y) ** 2 / 2).mean()
print("half mean square:", half.item(), "  nn.MSELoss:",
      nn.MSELoss()(y_hat, y).item())
assert nn.MSELoss()(y_hat, y) == 2 * half

# %% [markdown]
# In [Section 3.4](04-linear-regression-scratch.ipynb) labels of shape $(n,)$ were broadcast against predictions of shape $(n,1)$, without an error.
# `nn.MSELoss` notices, but it only warns and still returns the wrong number:

# %%
# check 3.5-C6: a warning for (n, 1) against (n,), and a wrong value
predictions = torch.tensor([[1.0], [2.0], [3.0]])  # (3, 1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    wrong = nn.MSELoss()(predictions, predictions[:, 0])
print(f"{caught[0].category.__name__}: "
      f"{str(caught[0].message).split('. ')[0]}.")
print(f"loss of perfect predictions: {wrong.item():.3f}")
assert len(caught) == 1 and "broadcasting" in str(caught[0].message)
torch.testing.assert_close(
    wrong, ((predictions - predictions.mT) ** 2).mean())  # of 9, not of 3

# %% [markdown]
# Such warnings scroll past in a long log.
# `warnings.simplefilter("error")` at the top of a program turns them into errors; the tests of this book treat them so.

# %% [markdown]
# ## The optimizer
#
# `torch.optim.SGD(params, lr)` receives an iterable of parameters and the learning rate.
# Its `step` and `zero_grad` do what those of our class do, as [Section 3.4](04-linear-regression-scratch.ipynb) checked.
# It also offers momentum, weight decay and *parameter groups*, sets of parameters with their own settings ([Section 3.7](07-weight-decay.ipynb)).
#
# The `Trainer` creates the optimizer *before* the first batch.
# If the model is lazy, the optimizer then receives parameters without elements; are those that it updates later the ones that the layer uses?
# They are, because the first batch does not replace a lazy parameter: it gives the same object a shape and turns its class into `nn.Parameter`, and everything that holds a reference to it sees the change.

# %%
# check 3.5-C7: an optimizer from before the first batch still works
torch.manual_seed(2)
lazy = nn.LazyLinear(1)
optimizer = torch.optim.SGD(lazy.parameters(), lr=0.1)
held = optimizer.param_groups[0]["params"][0]
assert isinstance(held, nn.UninitializedParameter)
loss = lazy(X).square().mean()  # X: (3, 2)
assert held is lazy.weight and type(held) is nn.Parameter
before = held.detach().clone()
loss.backward()
optimizer.step()
torch.testing.assert_close(lazy.weight, before - 0.1 * lazy.weight.grad)
assert not torch.equal(lazy.weight, before)

# %% [markdown]
# ## Training
#
# The parts together are the model of this section.
# If the number of inputs is given, the layer is initialized at once.
# If not, `forward` does with the first batch what we did by hand: run it through the layer once, then initialize.

# %% tags=["export"]
class LinearRegression(Module):
    """Linear regression with `nn.Linear` and the mean squared error.

    `lr` is the learning rate. With `num_inputs=None` the layer takes its
    number of inputs from the first batch, and is initialized right after.
    """

    def __init__(self, lr, num_inputs=None):
        super().__init__()
        self.save_hyperparameters()
        if num_inputs is None:
            self.net = nn.LazyLinear(1)
        else:
            self.net = nn.Linear(num_inputs, 1)
            self.initialize()

    def initialize(self):
        nn.init.normal_(self.net.weight, mean=0, std=0.01)
        nn.init.zeros_(self.net.bias)

    def forward(self, X):
        """Predictions (n, 1) for features X of shape (n, d)."""
        if isinstance(self.net.weight, nn.UninitializedParameter):
            with torch.no_grad():
                self.net(X)  # creates the parameters
            self.initialize()
        return self.net(X)

    def loss(self, y_hat, y):
        return nn.MSELoss()(y_hat, y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)

    def get_w_b(self):
        """Weights (1, d) and bias (1,), detached from the graph."""
        return self.net.weight.detach(), self.net.bias.detach()

# %% [markdown]
# Both constructions draw the same random numbers in the same order, so with the same seed they start from the same weights.
# A lazy model whose parameters were loaded from a file keeps them: loading gives them a shape, and `forward` then has nothing to do.

# %%
# check: lazy or not, the same start; loaded parameters are kept
torch.manual_seed(3)
eager = LinearRegression(lr=0.03, num_inputs=200)
torch.manual_seed(3)
lazy = LinearRegression(lr=0.03)
lazy(X200)
assert torch.equal(lazy.net.weight, eager.net.weight)
assert 0.007 < lazy.net.weight.std() < 0.0125 and lazy.net.bias == 0
assert abs(lazy.net.weight.mean()) < 0.003
assert sum(p.numel() for p in lazy.parameters()) == 201

loaded = LinearRegression(lr=0.03)
loaded.load_state_dict(eager.state_dict())
assert torch.equal(loaded(X200), eager(X200))

# %% [markdown]
# The data are those of [Section 3.4](04-linear-regression-scratch.ipynb), with $\mathbf{w}=[2,-3.4]^\top$ and $b=4.2$, and so are the `Trainer`, the 3 epochs, the batches of 32 and the learning rate of 0.03.

# %%
truth = torch.tensor([2.0, -3.4, 4.2])  # w1, w2, b


def make_data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return SyntheticRegressionData(truth[:2], truth[2].item(),
                                   generator=generator)


torch.manual_seed(0)
model, trainer = LinearRegression(lr=0.03), Trainer(max_epochs=3)
model.board.yscale = "log"
trainer.fit(model, make_data())

# %% [markdown]
# **Figure 3.5.3.** The loss of the concise model, drawn by the same board as in Section 3.4.
# The last points lie far below those of [Section 3.4](04-linear-regression-scratch.ipynb).

# %%
torch.manual_seed(0)
scratch = LinearRegressionScratch(num_inputs=2, lr=0.03)
scratch.board.display = False
Trainer(max_epochs=3).fit(scratch, make_data())

w, b = model.get_w_b()  # (1, 2), (1,)
assert not w.requires_grad and not b.requires_grad
estimate = torch.cat((w[0], b))  # (3,)
by_hand = torch.cat((scratch.w[:, 0], scratch.b)).detach()
print("      true  estimate    error   error in 3.4")
for name, t, e, s in zip(("w1", "w2", "b"), truth, estimate, by_hand):
    print(f"{name:3}{t:7.2f}{e:10.4f}{t - e:9.4f}{t - s:15.4f}")

# %%
# check 3.5-C4: errors below 0.05, far smaller than those of 3.4
errors, errors_by_hand = (truth - estimate).abs(), (truth - by_hand).abs()
assert (errors < 0.05).all()
assert (errors / truth.abs()).max() < 0.007  # predicted: 0.0026
assert errors_by_hand.max() > 5 * errors.max()

# %% [markdown]
# Same data, same learning rate, same number of steps, and errors that are many times smaller: without knowing about the factor 2, we would now praise the library.

# %% [markdown]
# ### Reading parameters
#
# `get_w_b` returns *detached* tensors: they share the memory of the parameters, but autograd does not follow what is computed from them.
# Older code writes `.data` for the same purpose.
# The difference shows when someone changes the result.
# Autograd keeps, for the backward pass, a reference to tensors that it will need, and counts their changes to notice if they are no longer what they were.
# A change through `detach()` is counted, one through `.data` is not:

# %%
w = torch.tensor([3.0], requires_grad=True)
loss = (w**2).sum()  # the gradient 2w needs the value of w
w.data.mul_(10)  # unnoticed
loss.backward()
print("through .data:   gradient", w.grad.item(), "but it should be 6.0")
assert w.grad == 60

w = torch.tensor([3.0], requires_grad=True)
loss = (w**2).sum()
w.detach().mul_(10)  # counted
try:
    loss.backward()
    raised = False
except RuntimeError:
    raised = True
print("through detach(): RuntimeError", raised)
assert raised and w.grad is None

# %% [markdown]
# Shared memory has a second consequence.
# Parameters that are kept for later must be copied, or they will move with the training:

# %%
w, b = model.get_w_b()
copy = w.clone()
model.board.display = False
trainer.fit(model, make_data(seed=1))
assert torch.equal(w, model.net.weight) and not torch.equal(copy, w)

# %% [markdown]
# ### The two programs are the same
#
# Now remove the differences: give both models the same start and the same batches, and the model with `nn.MSELoss` half the learning rate of the other.
# If everything said above is right, the two agree after every step and not only at the end.

# %%
def copy_start(scratch, concise):
    """Give the concise model the parameters of the other one."""
    with torch.no_grad():
        concise.net.weight.copy_(scratch.w.mT)  # (d, 1) -> (1, d)
        concise.net.bias.copy_(scratch.b)


def train_step(model, optimizer, X, y):
    loss = model.loss(model(X), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# check 3.5-C5: scratch at 0.06 and concise at 0.03 agree at every step
torch.manual_seed(4)
scratch = LinearRegressionScratch(num_inputs=2, lr=0.06)
concise = LinearRegression(lr=0.03, num_inputs=2)
copy_start(scratch, concise)
pair = [(m, m.configure_optimizers()) for m in (scratch, concise)]
loader, steps = make_data().train_dataloader(), 0
for _ in range(3):
    for X, y in loader:
        for net, optimizer in pair:
            train_step(net, optimizer, X, y)
        w, b = concise.get_w_b()
        torch.testing.assert_close(w.mT, scratch.w, rtol=0, atol=1e-5)
        torch.testing.assert_close(b, scratch.b, rtol=0, atol=1e-5)
        steps += 1
assert steps == 96

# %% [markdown]
# For a picture we keep the loss of every batch.
# The board does that if it is asked for 32 points per epoch, one for each batch.

# %%
def batch_losses(model):
    """Train for 3 epochs; the reported loss of each batch, (96,)."""
    model.plot_train_per_epoch = 32
    model.board.display = False
    Trainer(max_epochs=3).fit(model, make_data())
    return torch.tensor([v for _, v in model.board.data["train_loss"]])


torch.manual_seed(4)
scratch = LinearRegressionScratch(num_inputs=2, lr=0.03)
concise = [LinearRegression(lr, num_inputs=2) for lr in (0.03, 0.015)]
for net in concise:
    copy_start(scratch, net)
curves = [batch_losses(net) for net in (scratch, *concise)]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), sharey=True)
labels = ["3.4, lr 0.03", "3.5, lr 0.03", "3.5, lr 0.015"]
for ax, scale, title in zip(axes, (1, 0.5), ("as reported",
                                             "as half mean squares")):
    for curve, label, factor, style in zip(
            curves, labels, (1, scale, scale), ("-", "-.", ":")):
        ax.plot(factor * curve, style, label=label,
                lw=3 if style == ":" else 1.8)
    ax.set(xlabel="step", yscale="log", title=title)
axes[0].set_ylabel("loss of the batch")
axes[0].legend(loc="lower left")
d2l.describe(axes, """Batch loss against step on a logarithmic axis. As
    reported, the concise model with half the learning rate runs parallel
    to the scratch model, a factor of two above; measured by the same loss
    the two curves coincide. With the same learning rate the concise model
    falls twice as fast.""")

# %% [markdown]
# **Figure 3.5.4.** Loss curves of Sections 3.4 and 3.5 on the same data, start and batches.
# Left, each model reports its own loss: with half the learning rate the concise one keeps a factor of 2 above the other.
# Right, in the same unit: the dotted curve lies on the solid one at every step.
# The losses of two programs can be compared only after both are in the same unit.

# %%
# check: with half the learning rate the curves coincide, else they do not
torch.testing.assert_close(curves[2] / 2, curves[0], rtol=1e-3, atol=0)
assert curves[1][-1] / 2 < 0.1 * curves[0][-1]
assert len(curves[0]) == 96  # one point for each batch

# %% [markdown]
# The limit of stability has moved, too.
# The features have variance 1, so $\lambda_{\max}\approx1$.
# With $\eta=1.3$ a full-batch step multiplies the error by about $1-1.3=-0.3$ in [Section 3.4](04-linear-regression-scratch.ipynb), which is fast, and by $1-2.6=-1.6$ here, which explodes.

# %%
# check: a learning rate that suits 3.4 makes the concise model diverge
torch.manual_seed(4)
scratch = LinearRegressionScratch(num_inputs=2, lr=1.3)
concise = LinearRegression(lr=1.3, num_inputs=2)
data = make_data()
X, y = data.X[:1000], data.y[:1000]
for net in (scratch, concise):
    optimizer = net.configure_optimizers()
    for _ in range(30):
        train_step(net, optimizer, X, y)
assert (scratch.w[:, 0] - truth[:2]).abs().max() < 0.01
assert (concise.get_w_b()[0][0] - truth[:2]).abs().max() > 1e4

# %% [markdown]
# ## What a library gives
#
# | part | [Section 3.4](04-linear-regression-scratch.ipynb) | here | the same numbers? |
# | --- | --- | --- | --- |
# | weights | `w`, a column $(d,1)$, not registered | `net.weight`, a row $(1,d)$, registered | yes, transposed |
# | start | $\mathcal{N}(0,0.01^2)$, bias 0 | (3.5.2), unless initialized after the first batch | same distribution after `initialize` |
# | loss | half the mean square | the mean square | twice as large: halve the learning rate |
# | labels of shape $(n,)$ | `ValueError` | a warning | no |
# | update | `SGD.step` | `torch.optim.SGD.step` | yes |
# | loop | `Trainer` | the same `Trainer` | yes |
#
# For this model the library saves only a handful of lines.
# Its value lies elsewhere: its parts run on many devices and are tested by many people, exchanging one is a change of one line, and a reader who knows PyTorch knows what the program does.
#
# Code from scratch is needed where no part exists: a new loss, a new layer, a new update rule, or an experiment that has to look inside a part.
# It also tells us what to look for when a part of the library does not do what we think, as happened twice in this section.
# To trust your own code, do what we just did: give it and the library a case that both can handle, and compare every step.

# %% [markdown]
# ## Summary
#
# - `nn.Linear(d, 1)` stores its weights as a row $(1,d)$ and starts them uniformly in $\pm1/\sqrt d$, the bias too.
# - A lazy layer has no elements before its first batch; initializing it through `.data` before then does nothing, and nothing says so.
# - First a batch, then `nn.init`; an optimizer may be older than the first batch, because the parameter objects stay the same.
# - `nn.MSELoss` has no factor $\frac12$: a learning rate acts like twice its value, and the limit of stability is halved.
# - To test whether two programs are equivalent, give them the same start and the same batches and compare their parameters after every step; a lower loss may only have another unit.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 3.5-1
#
# Replace the mean over a batch by the sum, `nn.MSELoss(reduction="sum")`.
# Which learning rate gives the same path as the mean with 0.03, and why does the agreement end at the last batch of the epoch?
# By which factor is that step too short or too long?

# %% [markdown]
# #### Solution 3.5-1

# %% [markdown]
# The sum over 32 examples is 32 times the mean, and so are its gradients; a learning rate of $0.03/32$ makes up for it.
# The last batch has only 8 examples.
# There the sum is 8 times the mean, and the step is $8/32=\frac14$ of what it should be.

# %%
class SumLoss(LinearRegression):
    def loss(self, y_hat, y):
        return nn.MSELoss(reduction="sum")(y_hat, y)


torch.manual_seed(5)
mean_model = LinearRegression(lr=0.03, num_inputs=2)
sum_model = SumLoss(lr=0.03 / 32, num_inputs=2)
sum_model.load_state_dict(mean_model.state_dict())
pair = [(m, m.configure_optimizers()) for m in (mean_model, sum_model)]
for X, y in make_data().train_dataloader():
    before = mean_model.net.weight.detach().clone()
    for net, optimizer in pair:
        train_step(net, optimizer, X, y)
    if len(X) == 32:
        torch.testing.assert_close(sum_model.net.weight,
                                   mean_model.net.weight,
                                   rtol=0, atol=1e-5)

# %%
moves = [net.net.weight.detach() - before for net, _ in pair]  # (1, 2)
ratio = moves[1] / moves[0]
print("examples:", len(X), " ratio of the steps:",
      [round(r, 2) for r in ratio[0].tolist()])
torch.testing.assert_close(ratio, torch.full((1, 2), 0.25),
                           rtol=1e-2, atol=0)

# %% [markdown]
# ### Exercise 3.5-2
#
# For a residual $r$ and a number $\sigma>0$ the *Huber loss* is
#
# $$l_\sigma(r) = \begin{cases}|r|-\frac\sigma2 & \text{if } |r|>\sigma,\\ \frac1{2\sigma}r^2 & \text{otherwise.}\end{cases} \tag{3.5.5}$$
#
# Show that the two pieces meet without a jump or a kink.
# Which of PyTorch's losses compute it, with which arguments?
# Write the loss, compare, and draw it with its derivative.

# %% [markdown]
# #### Solution 3.5-2

# %% [markdown]
# At $|r|=\sigma$ both pieces have the value $\frac\sigma2$ and a slope of absolute value 1.
# Beyond it the slope stays at $\pm1$, and an outlier pulls no harder than a residual of size $\sigma$; within, the loss is a parabola and smooth at 0.
# It is `nn.SmoothL1Loss(beta=sigma)`.
# `nn.HuberLoss(delta=sigma)` is $\sigma$ times as large, once more a constant factor that acts on the learning rate.

# %%
def huber(r, sigma):
    """Formula (3.5.5) for residuals of any shape."""
    return torch.where(r.abs() > sigma, r.abs() - sigma / 2,
                       r**2 / (2 * sigma))


r = torch.linspace(-4, 4, 801, dtype=torch.float64, requires_grad=True)
zero = torch.zeros_like(r)
for sigma in (0.5, 1.0, 2.0):
    mean = huber(r, sigma).mean()
    smooth = nn.SmoothL1Loss(beta=sigma)(r, zero)
    scaled = nn.HuberLoss(delta=sigma)(r, zero) / sigma
    torch.testing.assert_close(mean, smooth, rtol=1e-12, atol=0)
    torch.testing.assert_close(mean, scaled, rtol=1e-12, atol=0)
    slope, = torch.autograd.grad(huber(r, sigma).sum(), r)
    torch.testing.assert_close(slope, (r.detach() / sigma).clamp(-1, 1))

# %%
fig, axes = plt.subplots(1, 2, figsize=(7, 2.7))
sigmas = (0.5, 1.0, 2.0)
values = [huber(r, sigma) for sigma in sigmas]
slopes = [torch.autograd.grad(v.sum(), r)[0] for v in values]
d2l.plot(r, values, [rf"$\sigma={s}$" for s in sigmas],
         xlabel="residual $r$", ylabel=r"loss $l_\sigma(r)$", ax=axes[0])
d2l.plot(r, slopes, xlabel="residual $r$", ylabel="derivative",
         ax=axes[1])
d2l.describe(axes, """Left: three loss curves, parabolas near zero that
    turn into straight lines. Right: their derivatives rise linearly from
    -1 to 1 between minus sigma and sigma and are constant outside.""")

# %% [markdown]
# **Figure 3.5.5.** The Huber loss is a parabola inside $\pm\sigma$ and a straight line outside; its derivative is $r/\sigma$, clipped to $[-1,1]$.

# %% [markdown]
# ### Exercise 3.5-3
#
# Where are the gradients after `backward`?
# Read those of an `nn.Linear` layer with `nn.MSELoss`, and compare them with the formulas of [Section 3.1](01-linear-regression.ipynb).
# What do they hold before the first `backward`, after a second one, and after `zero_grad`?

# %% [markdown]
# #### Solution 3.5-3

# %% [markdown]
# In the attribute `grad` of each parameter, with the shape of the parameter.
# By (3.5.3) they are twice the gradients of [Section 3.1](01-linear-regression.ipynb).
# A step of `sgd_step` with $\eta=1$ subtracts exactly one gradient, which gives the comparison.

# %%
torch.manual_seed(6)
layer, X, y = nn.Linear(3, 1), torch.randn(8, 3), torch.randn(8, 1)
assert layer.weight.grad is None  # before
nn.MSELoss()(layer(X), y).backward()

w, b = layer.weight.detach().mT, layer.bias.detach()  # (3, 1), (1,)
w_new, b_new = sgd_step(w, b, X, y, lr=1.0)
torch.testing.assert_close(layer.weight.grad.mT, 2 * (w - w_new))
torch.testing.assert_close(layer.bias.grad, 2 * (b - b_new))

first = layer.weight.grad.clone()
nn.MSELoss()(layer(X), y).backward()
torch.testing.assert_close(layer.weight.grad, 2 * first)  # added
layer.zero_grad()
assert layer.weight.grad is None

# %% [markdown]
# ### Exercise 3.5-4
#
# How fast does the estimate approach the truth when there are more data?
# Solve the least squares problem for $n=20,50,100,\dots,10\,000$ examples, each for several data sets, and draw the mean distance between the estimated and the true parameters over $n$ on logarithmic axes.
# Which slope do you expect, and how many more examples does one more correct digit cost?

# %% [markdown]
# #### Solution 3.5-4

# %% [markdown]
# By (3.3.2) each of the three parameters scatters with the standard deviation $\sigma/\sqrt n$.
# The distance is the length of a vector of three independent normal numbers, whose mean is $2\sqrt{2/\pi}\approx1.6$ standard deviations.
# So the distance should be $1.6\,\sigma/\sqrt n$: a straight line of slope $-\frac12$.
# One more digit needs 100 times as many examples.
# Growing by even *factors* puts the points at even distances on the logarithmic axis; sizes in even steps would crowd at its right end.

# %%
sizes = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]


def distance(n, seed):
    """Distance of the least squares estimate from the truth."""
    generator = torch.Generator().manual_seed(seed)
    data = SyntheticRegressionData(truth[:2], truth[2].item(), num_train=n,
                                   num_val=0, generator=generator)
    A = torch.cat((data.X, torch.ones(n, 1)), dim=1).double()  # (n, 3)
    solution = torch.linalg.lstsq(A, data.y.double()).solution  # (3, 1)
    return torch.linalg.vector_norm(solution[:, 0] - truth).item()


distances = torch.tensor([[distance(n, seed) for seed in range(num_repeats)]
                          for n in sizes])  # (9, num_repeats)
mean = distances.mean(dim=1)
log_n, log_d = torch.tensor(sizes).float().log(), mean.log()
slope = torch.linalg.lstsq(
    torch.stack((log_n, torch.ones(9)), dim=1), log_d[:, None]).solution[0]
predicted = 2 * math.sqrt(2 / math.pi) * 0.01 / torch.tensor(sizes).sqrt()
print(f"slope {slope.item():.3f}")
assert -0.6 < slope < -0.4
margin = 4 * 0.42 / math.sqrt(num_repeats)  # of the mean of a distance
assert ((mean / predicted - 1).abs() < margin).all()
assert abs((mean / predicted).mean() - 1) < margin / 2  # of all sizes

# %%
ax = d2l.plot(sizes, [mean, predicted], ["mean distance", "predicted"],
              fmts=("o", "k--"), xlabel="examples $n$", xscale="log",
              ylabel="distance from the truth", yscale="log")
ax.plot(sizes, distances, ".", color="C0", ms=3, alpha=0.4)
d2l.describe(ax, """Distance of the estimate from the truth against the
    number of examples, both logarithmic. The mean distances lie on a
    straight dashed line that falls by a factor of ten for a hundred times
    as many examples.""")

# %% [markdown]
# **Figure 3.5.6.** Large points are means, small points single data sets, the line is the prediction; nothing was fitted to it.

# %% [markdown]
# ### Exercise 3.5-5
#
# PyTorch's optimizers have several implementations.
# The plain one loops over the parameters in Python, `foreach=True` hands all of them over at once, `fused=True` does the whole update in one compiled function.
# Compare results and times for Adam on a model with 100 parameter tensors.
# Do the same for a model before and after `torch.compile`.

# %% [markdown]
# #### Solution 3.5-5

# %% [markdown]
# The results must agree up to rounding, since only the order of the work differs.
# The times need not: for small tensors the plain loop spends nearly all of its time in Python.

# %%
def run_adam(steps, **options):
    """Parameters after `steps` of Adam, and seconds of the fastest."""
    generator = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(64, generator=generator))
              for _ in range(100)]
    for param in params:
        param.grad = torch.randn(64, generator=generator)
    optimizer = torch.optim.Adam(params, lr=0.01, **options)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return torch.stack(params).detach(), min(times)


variants = {"plain": {"foreach": False, "fused": False},
            "foreach": {"foreach": True}, "fused": {"fused": True}}
runs = {name: run_adam(timing_steps, **options)
        for name, options in variants.items()}
for name in ("foreach", "fused"):
    torch.testing.assert_close(runs[name][0], runs["plain"][0],
                               rtol=0, atol=1e-5)

# %% tags=["timing"]
for name, (_, seconds) in runs.items():
    print(f"{name:8} {1e6 * seconds:8.0f} microseconds per step")
assert 2 * runs["fused"][1] < runs["plain"][1]

# %% [markdown]
# The fused update is more than twice as fast as the loop.
# Here, on a CPU, `foreach` gains less.
#
# `torch.compile` translates the model into one program for the device.
# The first call pays for the translation, often many seconds, so it is worth its price only for code that runs long, and a model as small as this one need not gain at all.
# Set `try_compile` to see it.

# %% tags=["timing"]
def compare_compiled():
    torch.manual_seed(7)
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    fast, X = torch.compile(net), torch.randn(256, 64)
    start = time.perf_counter()
    torch.testing.assert_close(fast(X), net(X), rtol=1e-4, atol=1e-5)
    print(f"first call {time.perf_counter() - start:.1f} s")
    for name, function in (("plain", net), ("compiled", fast)):
        start = time.perf_counter()
        for _ in range(timing_steps):
            function(X)
        seconds = (time.perf_counter() - start) / timing_steps
        print(f"{name:8} {1e6 * seconds:6.0f} microseconds a call")


if try_compile:
    compare_compiled()

# %% [markdown]
# ## Sources
#
# - PyTorch documentation, [torch.nn.Linear](https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html) and [torch.nn.modules.lazy.LazyModuleMixin](https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.lazy.LazyModuleMixin.html): default initialization, what the first batch does.
# - PyTorch documentation, [torch.nn.MSELoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html), [torch.optim](https://docs.pytorch.org/docs/stable/optim.html): definitions, implementations `foreach` and `fused`.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning, Section 3.5. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the concise implementation that is examined here.
# - P. J. Huber (1964). Robust estimation of a location parameter. Annals of Mathematical Statistics 35(1). [doi:10.1214/aoms/1177703732](https://doi.org/10.1214/aoms/1177703732): the loss of Exercise 3.5-2.
# - A. Paszke et al. (2019). PyTorch: an imperative style, high-performance deep learning library. [arXiv:1912.01703](https://arxiv.org/abs/1912.01703).
