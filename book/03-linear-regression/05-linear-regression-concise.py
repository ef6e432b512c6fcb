# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         num_seeds: 5
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
# PyTorch has a linear layer, a squared loss and stochastic gradient descent ready to use.
# Do they compute what we wrote in [Section 3.4](04-linear-regression-scratch.ipynb)?
# Almost: two small differences, a missing factor $\frac12$ and another start, change the result more than most people expect, and one popular way to set the start does nothing at all.
#
# **You will**
#
# - build the model, the loss and the optimizer from `torch.nn` and `torch.optim`;
# - initialize a layer whose input size is not known yet, and prove that the obvious line has no effect;
# - say what the missing $\frac12$ of `nn.MSELoss` does to the learning rate, and show the two versions to be equal once it is accounted for.
#
# **Cost**: about ten seconds on a CPU, no download, no use for a GPU.

# %%
import math
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    LinearRegressionScratch, Module, SyntheticRegressionData, Timer,
    Trainer, add_to_class)

d2l.use_style()

# %% tags=["parameters"]
num_seeds = 20  # repetitions in Exercise 3.5-4
time_compile = False  # also torch.compile, up to a minute on a CPU

# %%
w_true, b_true = torch.tensor([2, -3.4]), 4.2

def make_data(seed=0):
    """New data with their own order of batches, equal for equal seeds."""
    return SyntheticRegressionData(
        w_true, b_true, generator=torch.Generator().manual_seed(seed))

X, y = next(iter(make_data().train_dataloader()))  # (32, 2), (32, 1)

# %% [markdown]
# ## 3.5.1 Defining the model
#
# In a *fully connected* layer every output is a weighted sum of all inputs plus a bias.
# PyTorch's `nn.Linear(d, q)` is such a layer with $d$ inputs and $q$ outputs:
#
# $$\hat{\mathbf{Y}} = \mathbf{X}\mathbf{W}^\top+\mathbf{b}. \tag{3.5.1}$$
#
# Here $\mathbf{X}$ has shape $(n,d)$ for $n$ examples, $\mathbf{W}$ is the attribute `weight` of shape $(q,d)$, one row for each output, $\mathbf{b}$ is `bias` of shape $(q,)$, and the predictions $\hat{\mathbf{Y}}$ have shape $(n,q)$.
# Linear regression has one output, $q=1$.
# Its weight is the row $\mathbf{w}^\top$ of shape $(1,d)$, where Section 3.4 had a column.

# %%
layer = nn.Linear(2, 1)
by_hand = X @ layer.weight.mT + layer.bias  # (32, 2) @ (2, 1) + (1,)
torch.testing.assert_close(layer(X), by_hand)
print({name: tuple(p.shape) for name, p in layer.named_parameters()})

# %% [markdown]
# Often the number of inputs is a nuisance to compute, for instance behind several convolutions.
# `nn.LazyLinear(q)` leaves it open: the layer looks at its first batch, reads off $d$, and only then creates its parameters.
# This is called *lazy initialization*.
# Until then `weight` is a placeholder.
#
# ### An initialization that does nothing
#
# We want weights from $\mathcal{N}(0,0.01^2)$ and bias 0, as in Section 3.4.
# A line found in many tutorials is `net.weight.data.normal_(0, 0.01)`, right after the layer is made.
# It raises no error on a lazy layer.
# Let us follow it with 200 inputs, so that there are enough weights for statistics.

# %%
lazy = nn.LazyLinear(1)
print("weight is an", type(lazy.weight).__name__,
      "with", lazy.weight.data.numel(), "elements")
lazy.weight.data.normal_(0, 0.01)
lazy.bias.data.fill_(0)

X_wide = torch.randn(32, 200, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
lazy(X_wide)  # the first batch creates the parameters
print(f"weights after the first batch: standard deviation "
      f"{lazy.weight.std():.4f}, bias {lazy.bias.item():.4f}")

# %% [markdown]
# The weights are four times as large as ordered, and the bias is not 0.
# The reason is in the first line of output: before the first batch the tensor has no elements.
# `normal_` filled all zero of them, and the first batch then created 200 new ones by the default rule of the layer, a uniform distribution between $-1/\sqrt d$ and $1/\sqrt d$.
# A uniform distribution on $(-a,a)$ has standard deviation $a/\sqrt3$, so
#
# $$\operatorname{std}(W_{1j}) = \frac1{\sqrt{3d}}, \tag{3.5.2}$$
#
# where $W_{1j}$ is the weight of input $j$ and $d$ the number of inputs; for $d=200$ this is about 0.0408.
#
# Why did nobody complain?
# The attribute `.data` hands out the raw memory of a tensor and bypasses every safeguard, here the one that would have told us that there is nothing to fill.
# The functions in `nn.init` ask the parameter itself, and it refuses.

# %%
# check 3.5-C1: .data passes in silence, nn.init refuses
placeholder = nn.LazyLinear(1)
assert isinstance(placeholder.weight, nn.UninitializedParameter)
assert placeholder.weight.data.numel() == 0
placeholder.weight.data.normal_(0, 0.01)  # no error, no effect
try:
    nn.init.normal_(placeholder.weight, 0, 0.01)
    raise AssertionError("nn.init should refuse a placeholder")
except ValueError as error:
    print("ValueError:", str(error).split(" in <")[0])

# %%
# check 3.5-C2: the layer starts from its default, not from our line
assert 0.035 < lazy.weight.std() < 0.047  # expected 0.0408
assert lazy.bias.abs() > 1e-6

# %% [markdown]
# Two remedies are right: state the number of inputs, `nn.Linear(d, 1)`, or send one batch through the layer *before* initializing it.
# The rule to remember is that initialization comes after the parameters exist; Section 6.4 returns to it.

# %%
before = lazy.weight.detach().clone()  # (1, 200), as the first batch left it
torch.manual_seed(0)
nn.init.normal_(lazy.weight, 0, 0.01)
nn.init.zeros_(lazy.bias)

bins = torch.linspace(-0.075, 0.075, 31)
ax = plt.subplots(figsize=(5.5, 2.8))[1]
ax.hist(before.ravel(), bins, color="C1", alpha=0.7,
        label=".data before the first batch")
ax.hist(lazy.weight.detach().ravel(), bins, histtype="step", color="C0",
        linewidth=2, label="nn.init after it")
for sign in (-1, 1):
    ax.axvline(sign / math.sqrt(200), color="#555555", ls="--")
ax.text(1 / math.sqrt(200) - 0.001, 45, r"$1/\sqrt{d}$", ha="right")
ax.set(xlabel="weight", ylabel="number of weights")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
d2l.describe(ax, "Two histograms of 200 weights. Those set by .data too "
             "early spread evenly over the whole interval between minus and "
             "plus 1 over the square root of d; those set after the first "
             "batch form a narrow peak at 0.")

# %% [markdown]
# **Figure 3.5.1.** The early line leaves the default, uniform up to $\pm1/\sqrt d$; initializing after the first batch gives the narrow bell that was ordered.

# %%
# check 3.5-C3: after the first batch the initialization takes effect
assert 0.007 < lazy.weight.std() < 0.0125
assert lazy.bias.item() == 0

# %% [markdown]
# For two inputs and three epochs, the difference is lost in training.
# It is not for a model that has more weights than examples: there the start survives to the end, and Section 3.7 shows how an experiment on weight decay is distorted by it.
#
# Our class offers both ways.
# With `num_inputs` it initializes at once; without, in the first call of `forward`.

# %% tags=["export"]
class LinearRegression(Module):
    """Linear regression with `nn.Linear`, lazy without `num_inputs`.

    The weights start from a normal distribution with standard deviation
    0.01 and the bias at 0, for a lazy layer at its first batch.
    """

    def __init__(self, lr, num_inputs=None):
        super().__init__()
        self.save_hyperparameters()
        if num_inputs is None:
            self.net = nn.LazyLinear(1)
        else:
            self.net = nn.Linear(num_inputs, 1)
            self.init_params()

    def init_params(self):
        nn.init.normal_(self.net.weight, 0, 0.01)
        nn.init.zeros_(self.net.bias)

    def forward(self, X):
        if isinstance(self.net.weight, nn.UninitializedParameter):
            with torch.no_grad():
                self.net(X[:1])  # creates the parameters
            self.init_params()
        return self.net(X)  # (n, d) -> (n, 1)

# %%
for num_inputs in (200, None):
    torch.manual_seed(0)
    model = LinearRegression(lr=0.03, num_inputs=num_inputs)
    model(X_wide)
    print(f"num_inputs={num_inputs}: weights with standard deviation "
          f"{model.net.weight.std():.4f}, bias {model.net.bias.item()}")
    assert 0.007 < model.net.weight.std() < 0.0125

# %%
# check 3.5-C8: two weights and a bias, all registered
model = LinearRegression(lr=0.03, num_inputs=2)
assert sum(p.numel() for p in model.parameters()) == 3
assert set(model.state_dict()) == {"net.weight", "net.bias"}

# %% [markdown]
# ## 3.5.2 Defining the loss
#
# `nn.MSELoss` is the *mean squared error*, without the $\frac12$ that our formulas carry:
#
# $$\operatorname{MSE} = \frac1{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\left(\hat y^{(i)}-y^{(i)}\right)^2 = 2L_{\mathcal{B}}, \tag{3.5.3}$$
#
# where $\mathcal{B}$ is the batch of $|\mathcal{B}|$ examples, $\hat y^{(i)}$ and $y^{(i)}$ are prediction and label of example $i$, and $L_{\mathcal{B}}$ is the loss of Section 3.4, all of them numbers.
# A loss twice as large has the same minimum.
# Its gradient, however, is twice as large too, so that the same learning rate makes steps twice as long: `lr=0.03` acts like 0.06.

# %% tags=["export"]
@add_to_class(LinearRegression)
def loss(self, y_hat, y):
    """Mean squared error, without the factor 1/2."""
    return nn.MSELoss()(y_hat, y)

# %%
scratch, concise = LinearRegressionScratch(2, 0.03), model
y_hat = torch.zeros(32, 1)
torch.testing.assert_close(concise.loss(y_hat, y),
                           2 * scratch.loss(y_hat, y))

# %% [markdown]
# What does it do with labels of shape $(n,)$, the trap of Section 3.4?
# It computes the wrong loss as well, but it warns.
# In a long training log one line is easily missed; turning warnings into errors, as the tests of this book do, is a cheap defence.

# %%
# check 3.5-C6: MSELoss warns when the shapes differ
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    nn.MSELoss()(y_hat, y[:, 0])  # (32, 1) against (32,)
assert len(caught) == 1 and caught[0].category is UserWarning
print(str(caught[0].message).split(". ")[0] + ".")

# %% [markdown]
# ## 3.5.3 Defining the optimizer
#
# `torch.optim.SGD` takes any iterable of parameters; `self.parameters()` lists those that the model has registered, which for `nn.Linear` are all.

# %% tags=["export"]
@add_to_class(LinearRegression)
def configure_optimizers(self):
    return torch.optim.SGD(self.parameters(), self.lr)

# %% [markdown]
# There is a question of order once more.
# `Trainer.fit` creates the optimizer before the first batch, when a lazy layer still has placeholders.
# Does the optimizer then hold parameters that the first batch replaces?
# It does not: a placeholder turns into the real parameter in place, and remains the same Python object.

# %%
# check 3.5-C7: an optimizer made before the parameters exist trains them
torch.manual_seed(0)
model = LinearRegression(lr=0.03)
optimizer = model.configure_optimizers()
held = optimizer.param_groups[0]["params"]
assert held[0].data.numel() == 0
model(X)  # the first batch
start = [p.detach().clone() for p in held]
model.loss(model(X), y).backward()
optimizer.step()
assert held[0] is model.net.weight and held[1] is model.net.bias
assert all((p != s).all() for p, s in zip(held, start))

# %% [markdown]
# ## 3.5.4 Training
#
# The trainer is the one of Section 3.4, without a change.
# Before we run it, we predict the result.
# With the learning rate doubled in effect, the fraction of the error that is left after $t$ steps is
#
# $$\frac{\|\mathbf{e}_t\|}{\|\mathbf{e}_0\|} \approx (1-2\eta)^t, \tag{3.5.4}$$
#
# where $\mathbf{e}_t$ is the vector of the three parameter errors after $t$ steps and $\eta$ the learning rate.
# For $\eta=0.03$ and 96 steps this is $0.94^{96}\approx0.0026$: about a twentieth of the 0.0537 of Section 3.4.

# %%
torch.manual_seed(0)
model = LinearRegression(lr=0.03)
trainer = Trainer(max_epochs=3)
trainer.fit(model, make_data())

# %% [markdown]
# **Figure 3.5.2.** The board of the trainer; its losses are not halved as those of Figure 3.4.3 are, and they fall faster.
#
# To read the result we ask the layer for its parameters.
# `detach` returns them without their history, so that nothing computed from them is differentiated by accident.
# Older code uses `.data` for this; the values are the same, but as the lazy layer showed, `.data` also hides errors, and we do without it.

# %% tags=["export"]
@add_to_class(LinearRegression)
def get_w_b(self):
    """Weights (1, d) and bias (1,), detached from the graph."""
    return self.net.weight.detach(), self.net.bias.detach()

# %%
def errors_of(w, b):
    """True minus estimated parameters (w1, w2, b): (3,)."""
    return torch.cat([w_true - w.detach().ravel(), b_true - b.detach()])

torch.manual_seed(0)
scratch = LinearRegressionScratch(2, lr=0.03)
scratch.board.display = False
Trainer(max_epochs=3).fit(scratch, make_data())
errors = {"scratch": errors_of(scratch.w, scratch.b),
          "concise": errors_of(*model.get_w_b())}
print("error of       w1        w2         b")
for name, e in errors.items():
    print(f"{name:8}", "".join(f"{v:10.4f}" for v in e.tolist()))

# %%
# check 3.5-C4: errors below 0.05 and at least 5 times below those of 3.4
assert errors["concise"].abs().max() < 0.05
assert (errors["scratch"].abs() > 5 * errors["concise"].abs()).all()

# %% [markdown]
# The concise version is not better because professionals wrote it.
# It took longer steps.
# Whoever compares two implementations at "the same learning rate" should first look for such a factor.
#
# ### The same computation
#
# If the factor 2 is the only difference, a scratch model with twice the learning rate must take the same path, provided that both start from the same parameters and see the same batches.
# We run them side by side and compare after every step.

# %%
torch.manual_seed(0)
scratch = LinearRegressionScratch(2, lr=0.06)
concise = LinearRegression(lr=0.03, num_inputs=2)
with torch.no_grad():
    concise.net.weight.copy_(scratch.w.mT)  # (2, 1) -> (1, 2)
optimizers = [m.configure_optimizers() for m in (scratch, concise)]
gaps, data = [], make_data()
for epoch in range(3):
    for X, y in data.train_dataloader():
        for m, optimizer in zip((scratch, concise), optimizers):
            optimizer.zero_grad()
            m.loss(m(X), y).backward()
            optimizer.step()
        gaps.append((errors_of(*concise.get_w_b())
                     - errors_of(scratch.w, scratch.b)).abs().max())

# %%
# check 3.5-C5: twice the learning rate, the same path
assert len(gaps) == 96 and max(gaps) < 1e-5

# %% [markdown]
# The same holds in the other direction: the concise version with *half* the learning rate repeats the run of Section 3.4.
# For the figure, its losses are halved, so that all curves show $L_{\mathcal{B}}$.

# %%
def loss_curve(model):
    """Train for 3 epochs -> the loss of each of the 96 batches."""
    model.board.display = False
    model.plot_train_per_epoch = 32  # a point for each batch
    Trainer(max_epochs=3).fit(model, make_data())
    return torch.tensor(model.board.data["train_loss"])[:, 1]  # (96,)

curves = {}
for name, cls, lr in (("scratch", LinearRegressionScratch, 0.03),
                      ("concise", LinearRegression, 0.03),
                      ("half", LinearRegression, 0.015)):
    model = cls(lr=lr, num_inputs=2)
    with torch.no_grad():  # the same start for all
        for p in ((model.w, model.b) if name == "scratch"
                  else model.parameters()):
            p.zero_()
    curves[name] = loss_curve(model) / (1 if name == "scratch" else 2)

# %%
fig, ax = plt.subplots(figsize=(6, 3))
t = torch.arange(96)
ax.plot(t, curves["concise"], color="C1", label="concise, lr = 0.03")
ax.plot(t, curves["scratch"], color="C4", linewidth=5,
        label="scratch, lr = 0.03")
ax.plot(t, curves["half"], color="black", ls="--", linewidth=1.3,
        label="concise, lr = 0.015")
ax.set(xlabel="step", ylabel=r"half squared error $L_{\mathcal{B}}$",
       yscale="log")
ax.legend()
d2l.describe(ax, "On a logarithmic axis the concise version with learning "
             "rate 0.03 falls twice as steeply as the scratch version. With "
             "learning rate 0.015 it lies exactly on the scratch curve.")

# %% [markdown]
# **Figure 3.5.3.** With half the learning rate the concise version (dashed) lies on the curve of the scratch version; with the same one it falls twice as steeply.

# %%
torch.testing.assert_close(curves["half"], curves["scratch"],
                           rtol=1e-3, atol=1e-6)
assert curves["concise"][-1] < curves["scratch"][-1] / 20

# %% [markdown]
# ## 3.5.5 What the framework gives, and what it hides
#
# The concise version is shorter, but that is its least advantage.
# Its layer is registered, so that it can be saved, moved to another device and converted to another number type, which the tensors of Section 3.4 could not.
# Its parts were tested by many thousands of users, run on every device that PyTorch knows, and are the parts that larger networks are made of.
#
# What it hides are decisions: the start of the weights, the factor in the loss, the meaning of the learning rate.
# This section found two of them by computing the expected result first.
# Scratch code remains necessary where a new idea has no layer yet, where one wants to know what a layer does, and where a result has to be tested against something independent.

# %% [markdown]
# ## Summary
#
# - `nn.Linear` stores its weight as $(q,d)$, one row for each output, and computes $\mathbf{X}\mathbf{W}^\top+\mathbf{b}$.
# - Setting `.data` of a lazy layer before its first batch fills a tensor without elements; initialize after the parameters exist, with `nn.init`, which would have refused.
# - `nn.MSELoss` lacks the $\frac12$: gradients double, and a learning rate acts like twice its value.
# - Scratch and concise version, with this factor, the same start and the same batches, agree at every step.
# - A lazy layer may be handed to an optimizer before its first batch, because its placeholder becomes the parameter in place.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 3.5-1
#
# Replace the mean over the batch by a sum, `nn.MSELoss(reduction="sum")`.
# Which learning rate gives the same path as before, and in which step do the paths part?

# %% [markdown]
# #### Solution 3.5-1
#
# The sum over a batch of 32 is 32 times the mean, so the learning rate must be divided by 32.
# The last batch of each epoch has only 8 examples.
# Its sum is 8 times its mean, so that with $\eta/32$ the step is a quarter of what it was: the paths part at step 32.

# %%
class SumLoss(LinearRegression):
    def loss(self, y_hat, y):
        return nn.MSELoss(reduction="sum")(y_hat, y)

def path_of(model):
    """Parameters before and after each of the 32 steps of an epoch."""
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    optimizer, path = model.configure_optimizers(), []
    for X, y in make_data().train_dataloader():
        path.append(errors_of(*model.get_w_b()))
        optimizer.zero_grad()
        model.loss(model(X), y).backward()
        optimizer.step()
    return torch.stack(path + [errors_of(*model.get_w_b())])  # (33, 3)

mean = path_of(LinearRegression(lr=0.03, num_inputs=2))
total = path_of(SumLoss(lr=0.03 / 32, num_inputs=2))
torch.testing.assert_close(mean[:32], total[:32], rtol=0, atol=1e-5)
torch.testing.assert_close((total[32] - total[31]) * 4, mean[32] - mean[31],
                           rtol=1e-3, atol=1e-5)

# %% [markdown]
# ### Exercise 3.5-2
#
# A robust loss grows like the square of the residual $r$ near 0 and like its absolute value far away:
#
# $$l(r) = \begin{cases}|r|-\sigma/2 & \text{if } |r|>\sigma,\\ r^2/(2\sigma) & \text{otherwise,}\end{cases} \tag{3.5.5}$$
#
# where the number $\sigma>0$ marks the border.
# Implement it, and find it in PyTorch under two names.
# Are value and slope continuous at the border?

# %% [markdown]
# #### Solution 3.5-2
#
# It is `nn.SmoothL1Loss` with `beta` equal to $\sigma$, and `nn.HuberLoss` with `delta` equal to $\sigma$, divided by $\sigma$.
# At $|r|=\sigma$ both branches give $\sigma/2$, and both have slope 1.

# %%
def robust(r, sigma):
    return torch.where(r.abs() > sigma, r.abs() - sigma / 2,
                       r**2 / (2 * sigma)).mean()

r = torch.linspace(-3, 3, 101)
zero = torch.zeros_like(r)
for sigma in (0.1, 0.5, 1, 2.0):
    own = robust(r, sigma)
    torch.testing.assert_close(own, nn.SmoothL1Loss(beta=sigma)(r, zero))
    torch.testing.assert_close(
        own, nn.HuberLoss(delta=sigma)(r, zero) / sigma)

# %%
for side in (1 - 1e-6, 1 + 1e-6):  # just inside, just outside the border
    border = torch.tensor(0.5 * side, dtype=torch.float64,
                          requires_grad=True)
    value = robust(border, 0.5)
    value.backward()
    assert abs(value - 0.25) < 1e-5 and abs(border.grad - 1) < 1e-5

# %% [markdown]
# ### Exercise 3.5-3
#
# How do you read the gradient of the layer's weight after `backward`?
# Compare it with the formula of [Section 3.1](01-linear-regression.ipynb).

# %% [markdown]
# #### Solution 3.5-3
#
# It is `model.net.weight.grad`, of the shape of the weight, $(1,d)$.
# Formula (3.1.11) gives $\frac1{|\mathcal{B}|}\sum_i\mathbf{x}^{(i)}(\hat y^{(i)}-y^{(i)})$ for the half squared error; `nn.MSELoss` doubles it.

# %%
torch.manual_seed(0)
model = LinearRegression(lr=0.03, num_inputs=2)
X, y = next(iter(make_data().train_dataloader()))
y_hat = model(X)
model.loss(y_hat, y).backward()
residual = (y_hat - y).detach()  # (32, 1)
torch.testing.assert_close(model.net.weight.grad,  # (1, 2)
                           2 * (X * residual).mean(dim=0, keepdim=True))
torch.testing.assert_close(model.net.bias.grad, 2 * residual.mean(dim=0))

# %% [markdown]
# ### Exercise 3.5-4
#
# How does the error of the estimated parameters depend on the number $n$ of training examples?
# Compute the least-squares solution for $n=20,50,\dots,10\,000$, average the distance to the true parameters over 20 seeds, and plot it on logarithmic axes.
# Why is it of little use to double the data?

# %% [markdown]
# #### Solution 3.5-4
#
# Section 3.3 gave the standard error $\sigma/\sqrt n$ for each of the three parameters, so the distance is about $\sigma\sqrt{3/n}$: a line with slope $-\frac12$ on logarithmic axes.
# Doubling the data divides the error by $\sqrt2$ only; for one more digit, 100 times as many are needed.

# %%
sizes = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
theta = torch.tensor([[2], [-3.4], [4.2]], dtype=torch.float64)
distance = []
for n in sizes:
    g = torch.Generator().manual_seed(n)
    A = torch.randn(num_seeds, n, 3, generator=g, dtype=torch.float64)
    A[:, :, 2] = 1  # the column of the bias
    noise = 0.01 * torch.randn(num_seeds, n, 1, generator=g,
                               dtype=torch.float64)
    estimate = torch.linalg.lstsq(A, A @ theta + noise).solution
    distance.append((estimate - theta).norm(dim=(1, 2)).mean())
distance = torch.stack(distance)  # (9,)
n = torch.tensor(sizes, dtype=torch.float64)
ax = d2l.plot(n, [distance, 0.01 * (3 / n).sqrt()],
              ["least squares", r"$\sigma\sqrt{3/n}$"], fmts=("o-", "k--"),
              xlabel="training examples $n$", ylabel="distance to the truth",
              xscale="log", yscale="log", ylim=(1e-4, 1e-2))
d2l.describe(ax, "On logarithmic axes the distance to the true parameters "
             "falls along a straight line with slope minus one half.")

# %% [markdown]
# **Figure 3.5.4.** The error of least squares falls like $1/\sqrt n$.
# It lies a little below the dashed line, which is the root of the mean *squared* distance and therefore larger than the mean distance.

# %%
log_n = torch.stack([n.log(), torch.ones_like(n)], dim=1)  # (9, 2)
fit = torch.linalg.lstsq(log_n, distance.log().reshape(-1, 1)).solution
slope = fit[0].item()
print(f"slope {slope:.2f}")
assert -0.6 < slope < -0.4

# %% [markdown]
# ### Exercise 3.5-5
#
# A loop over parameters in Python costs time when there are many small ones.
# `torch.optim.SGD` can work on all of them in a few calls (`foreach=True`) or in one compiled kernel (`fused=True`), and `torch.compile` can compile a whole model.
# Show that the results agree, and measure the time of a step for 200 parameters with 100 numbers each.

# %% [markdown]
# #### Solution 3.5-5
#
# All variants compute the same update, up to rounding.
# How much time each saves depends on the machine, on the number of parameters and on their size: for few large tensors the loop costs nothing.
# On a GPU, where each call starts a kernel, `foreach` and `fused` save most.

# %%
def many_parameters():
    """200 parameters with gradients, equal at each call."""
    g = torch.Generator().manual_seed(0)
    params = [torch.randn(100, generator=g) for _ in range(200)]
    for p in params:
        p.grad = torch.randn(100, generator=g)
    return params

variants = {"for loop": {"foreach": False}, "foreach": {"foreach": True},
            "fused": {"fused": True}}
results = {}
for name, options in variants.items():
    results[name] = many_parameters()
    optimizer = torch.optim.SGD(results[name], lr=0.03, **options)
    for _ in range(10):
        optimizer.step()
for name in ("foreach", "fused"):
    torch.testing.assert_close(results[name], results["for loop"])

# %% tags=["timing"]
for name, options in variants.items():
    optimizer = torch.optim.SGD(many_parameters(), lr=0.03, **options)
    optimizer.step()  # the first step is slower
    timer = Timer()
    for _ in range(100):
        timer.start()
        optimizer.step()
        timer.stop()
    print(f"{name:9} {1e6 * min(timer.times):7.0f} microseconds a step")

# %% [markdown]
# `torch.compile` translates the model at its first call, which takes seconds to a minute and needs a C++ compiler on a CPU.
# For a model of three parameters this never pays, so the next cell runs only if `time_compile` is set at the top.

# %% tags=["timing"]
if time_compile:
    model = LinearRegression(lr=0.03, num_inputs=2)
    compiled, timer = torch.compile(model), Timer()
    torch.testing.assert_close(compiled(X), model(X))
    print(f"first call {timer.stop():.1f} s")
    for name, f in (("plain", model), ("compiled", compiled)):
        timer.start()
        for _ in range(1000):
            f(X)
        print(f"{name:9} {1e3 * timer.stop():.0f} microseconds a call")

# %% [markdown]
# ## Sources
#
# - PyTorch documentation: [nn.Linear](https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html) with its default initialization, [lazy modules](https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.lazy.LazyModuleMixin.html), [nn.MSELoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html), [optimizers](https://docs.pytorch.org/docs/stable/optim.html) with `foreach` and `fused`.
# - A. Paszke et al. (2019). PyTorch: an imperative style, high-performance deep learning library. NeurIPS. [arXiv:1912.01703](https://arxiv.org/abs/1912.01703).
# - P. J. Huber (1964). Robust estimation of a location parameter. Annals of Mathematical Statistics 35(1). [doi:10.1214/aoms/1177703732](https://doi.org/10.1214/aoms/1177703732): the loss of Exercise 3.5-2.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). [Dive into Deep Learning](https://d2l.ai/chapter_linear-regression/linear-regression-concise.html), Section 3.5: the lazy layer whose initialization this section repairs.
