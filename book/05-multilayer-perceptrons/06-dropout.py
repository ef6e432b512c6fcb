# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#         batch_size: 256
#         optimizer: SGD
#         lr: 0.1
#         max_epochs: 10
#         num_gpus: 1
#         num_seeds: 5
#         long_epochs: 40
#       smoke:
#         train_size: 2000
#         val_size: 500
#         max_epochs: 2
#         few_epochs: 4
#         long_epochs: 5
#         num_seeds: 2
#     rehearsal: {train_size: 0.2, val_size: 0.2, max_epochs: 0.5, num_seeds: 0.6}
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
# # 5.6 Dropout
#
# What happens if, in every step of training, half of the units of a network are switched off at random?
# One would expect damage.
# Instead the network cannot rely on any single unit, and it overfits less.
# This section builds the method in a few lines, finds out what it equals where mathematics can tell, and measures what it gains, with how much data and after how much training.

# %% [markdown]
# **You will**
#
# - implement dropout without changing any expectation, and test it down to its boundary cases;
# - switch it on and off with the mode of the model, and recognize the bugs of a wrong mode;
# - prove by counting all masks what dropout equals in a linear model and in softmax regression;
# - say when it helps, and by which measure, from runs that differ in one thing at a time.
#
# **Cost**: less than a minute on a CPU, most of it for twelve networks that are trained side by side; a download of 31 MB, once.

# %%
from unittest import mock

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, predict)
from d2l_helpers.chapters.linear_regression import Trainer
from d2l_helpers.chapters.multilayer_perceptrons import Stack, train_stack

d2l.use_style()
f64 = torch.float64  # for identities that hold to ten digits

# %% tags=["parameters"]
train_size = 10_000  # images of the main run
val_size = 2_000
batch_size = 64
optimizer = "Adam"  # a class of torch.optim
lr = 1e-3  # its step
max_epochs = 5
num_gpus = 0  # 1: train on an accelerator, if there is one
few_epochs = 40  # epochs of the runs on 1000 images
long_epochs = 20  # epochs of the run on 2000 images
num_seeds = 3  # networks trained for each of their curves

# %% [markdown]
# ## What makes a function simple
#
# Among the functions that fit the training data, simple ones are usually the better bet on new data, and "simple" can mean several things.
# It can mean few dimensions: [Section 3.6](../03-linear-regression/06-generalization.ipynb) chose the degree of a polynomial.
# It can mean small weights: [Section 3.7](../03-linear-regression/07-weight-decay.ipynb) put a price on their norm.
# And it can mean *smoothness*: a small change of the input should change the output only a little.
# A shoe remains a shoe if each of its pixels becomes a bit brighter or darker at random.
#
# One way to demand smoothness is to train with inputs that are disturbed in this way.
# For a linear model we can compute the effect.
# Add to every input an independent noise with mean 0 and variance $\sigma^2$; then
#
# $$E\left[\|\mathbf{y}-(\mathbf{X}+\mathbf{N})\mathbf{w}\|^2\right] = \|\mathbf{y}-\mathbf{X}\mathbf{w}\|^2+n\sigma^2\|\mathbf{w}\|^2, \tag{5.6.1}$$
#
# where $\mathbf{X}$ of shape $(n,d)$ holds $n$ examples with $d$ features, $\mathbf{y}$ of shape $(n,)$ the labels, $\mathbf{w}$ of shape $(d,)$ the weights, and $\mathbf{N}$ of shape $(n,d)$ the noise over which the expectation is taken.
# The expectation of a square is the squared mean plus the variance.
# The residual of example $i$ has the mean $y^{(i)}-\mathbf{w}^\top\mathbf{x}^{(i)}$, because the noise has mean 0, and the variance $\sigma^2\sum_jw_j^2$, because the $d$ noises are independent.
#
# The right side of (5.6.1) is the objective of ridge regression.
# Training with noise *is* weight decay here, and its strength is the variance of the noise.
# Bishop (1995) showed that something similar holds for every smooth model and small noise: to first order in $\sigma^2$ a penalty $\sigma^2\|\nabla_{\mathbf{x}}f(\mathbf{x})\|^2$ on the slope of the function $f$ is added (and a term with the residuals, which averages out where the fit is good).

# %%
# check 5.6-C5: Gaussian noise on the inputs adds n sigma^2 |w|^2
g = torch.Generator().manual_seed(0)
X = torch.randn(6, 4, generator=g, dtype=f64)  # (n, d)
y = torch.randn(6, 1, generator=g, dtype=f64)
w = torch.randn(4, 1, generator=g, dtype=f64)
sigma = 0.5
noise = sigma * torch.randn(50_000, 6, 4, generator=g, dtype=f64)
noisy = ((y - (X + noise) @ w) ** 2).sum(dim=(1, 2)).mean()
clean = ((y - X @ w) ** 2).sum()
predicted = clean + 6 * sigma**2 * (w**2).sum()
print(f"without noise {clean:.2f}, with noise {noisy:.1f}, "
      f"(5.6.1) {predicted:.1f}")
torch.testing.assert_close(noisy, predicted, rtol=0.01, atol=0)

# %% [markdown]
# A deep network has more places than its input where noise can be injected.
# Hinton and co-authors (2012; in full Srivastava and co-authors, 2014) put it into the hidden layers, and they chose a drastic kind: in each forward pass of training a random part of the units is set to zero.
# This is *dropout*.
#
# They gave a reason and an analogy.
# The reason is *co-adaptation*: units may specialize in correcting the errors of particular other units, which fits the training data without carrying over to new data.
# The analogy is sexual reproduction, which breaks up sets of genes that work only together.
# An analogy is no evidence; what dropout does must be derived or measured.

# %% [markdown]
# ## Noise that changes no mean
#
# We want a random activation $h'$ whose expectation is the original activation $h$; the next layer then receives, on average, what it would have received without noise.
# Setting $h$ to zero with probability $p$ and leaving it alone otherwise would give $E[h']=(1-p)h$.
# So the activations that survive are divided by $1-p$:
#
# $$h' = \begin{cases}0&\text{with probability }p,\\[2pt]\dfrac h{1-p}&\text{otherwise.}\end{cases} \tag{5.6.2}$$
#
# Here $h$ is the activation of one unit, a number, and $p$ with $0\le p<1$ is the *dropout probability*, a hyperparameter.
# Expectation and variance follow at once:
#
# $$\begin{gathered} E[h'] = p\cdot0+(1-p)\frac h{1-p} = h, \\[4pt] \operatorname{Var}(h') = (1-p)\frac{h^2}{(1-p)^2}-h^2 = h^2\frac p{1-p}. \end{gathered} \tag{5.6.3}$$
#
# For $h=3$ and $p=\frac12$ the new activation is 0 or 6, its mean 3 and its variance 9.

# %% [markdown]
# ## Dropout in practice
#
# Take a network with five hidden units.
# In one training pass the second and the fifth are dropped.
#
# ![Left: a network with four inputs, five hidden units and three outputs, every layer fully connected to the next. Right: the same network in one training pass; the hidden units h2 and h5 are pale and crossed out, and all connections to and from them are gone.](img/dropout-network.svg)
#
# **Figure 5.6.1.** A network and what is left of it in one training pass.
# In the next pass other units are missing.

# %% [markdown]
# The output does not depend on $h_2$ and $h_5$ in this pass, and so their weights receive the gradient zero: they are neither used nor corrected (an optimizer with a memory, such as Adam, may still move them a little).
# Five units can be present or absent in $2^5=32$ ways, and in each step every example of the minibatch, which has a mask of its own, trains one of these networks, all of which share their weights.

# %% tags=["hide-input"]
def draw_network(ax, keep):
    """Four inputs, five hidden units (crossed out if not kept), 3 outputs."""
    layers = [torch.arange(size) - (size - 1) / 2 for size in (4, 5, 3)]
    for j, height in enumerate(layers[1].tolist()):
        for x, layer in ((0, layers[0]), (2, layers[2])):
            for other in layer.tolist() if keep[j] else []:
                ax.plot([x, 1], [other, height], color="#999999", lw=0.7)
        ax.plot(1, height, "o" if keep[j] else "x", ms=7,
                color="C0" if keep[j] else "C1", mew=2, clip_on=False)
    for x, layer in ((0, layers[0]), (2, layers[2])):
        ax.plot([x] * len(layer), layer.tolist(), "o", ms=7, color="#777777")
    ax.set(xlim=(-0.25, 2.25), ylim=(-2.4, 2.4))
    ax.axis("off")


g = torch.Generator().manual_seed(2)
masks = torch.rand(6, 5, generator=g) >= 0.5  # (passes, hidden units)
_, axes = plt.subplots(1, 6, figsize=(7.4, 1.9))
for i, (ax, keep) in enumerate(zip(axes, masks.tolist())):
    draw_network(ax, keep)
    ax.set_title(f"pass {i + 1}", fontsize=9)
d2l.describe(axes, """Six copies of a network with five hidden units. In each
    a different set of hidden units is crossed out and has no
    connections.""")

# %% [markdown]
# **Figure 5.6.2.** Six passes with $p=\frac12$ train six of the 32 networks that are contained in one.

# %% [markdown]
# At test time nothing is dropped.
# Because of the division by $1-p$ nothing has to be rescaled then either: for the same input from below, every unit already sends what it has sent on average.
# (The first version of dropout did not divide in training and multiplied the weights by $1-p$ at test time; the variant above is called *inverted dropout* and is the one in use.)
#
# Look at one unit of the next layer, which receives the sum $z=\sum_jw_jh_j'$ of 256 units with weights $w_j$.
# Its mean is what it would be without dropout, and since the masks of different units are independent, variances add up:
#
# $$E[z] = \sum_jw_jh_j,\qquad \operatorname{Var}(z) = \frac p{1-p}\sum_jw_j^2h_j^2, \tag{5.6.4}$$
#
# where $h_j$ and $w_j$ are the activation of unit $j$ and its weight, both numbers.

# %% tags=["hide-input"]
g = torch.Generator().manual_seed(0)
h = torch.randn(256, generator=g).relu()  # activations of one layer
w = torch.randn(256, generator=g) / 16 + 0.05
uniform = torch.rand(2000, 256, generator=g)  # 2000 passes
colour = plt.get_cmap("viridis").with_extremes(bad="white")


def draw(fig, p):
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.5])
    keep = uniform >= p  # (2000, 256)
    seen = torch.where(keep[0], h / (1 - p), torch.nan)  # nan: dropped
    left.imshow(seen.reshape(16, 16), cmap=colour, vmin=0, vmax=3)
    left.set(xticks=[], yticks=[], title="256 units in one pass")
    left.grid(False)
    edges = torch.linspace(-2, 14, 81)
    for scale, name in ((1 / (1 - p), "divided by 1 − p"), (1, "not divided")):
        z = (h * keep * scale) @ w  # (2000,)
        counts = torch.histc(z, bins=80, min=-2, max=14)
        right.stairs(counts, edges, fill=True, alpha=0.6, label=name)
    right.axvline((h @ w).item(), color="black", ls="--", lw=1.2)
    right.set(xlabel="sum z that the next unit receives", ylabel="passes",
              yticks=[])
    right.legend(loc="upper right")


d2l.sliders(draw, """Left: the activations of 256 units as a grid of colours,
    dropped ones white. Right: histogram of the weighted sum over many
    passes. With division its centre stays at the dashed value without
    dropout while it gets wider as p grows; without division the centre
    moves to zero.""", figsize=(7.0, 2.9),
    p=[0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9])

# %% [markdown]
# **Figure 5.6.3.** Move $p$.
# The dashed line is the sum without dropout.
# With the division the sums scatter around it, the more the larger $p$; without it they drift to zero.

# %% [markdown]
# ## Implementation from scratch
#
# For each entry draw a number $u$ from the uniform distribution on $[0,1)$ and keep the entry if $u\ge p$, which happens with probability $1-p$.
# The case $p=1$, in which nothing is kept, is treated separately, since there (5.6.2) would divide by zero.

# %% tags=["export"]
def dropout_layer(X, p):
    """Set each entry of X to 0 with probability p, rescale the others.

    X has any shape; dividing the kept entries by 1 - p leaves the
    expectation of every entry as it is. For training only.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"the dropout probability is {p}; "
                         "it must lie between 0 and 1.")
    if p == 1:
        return X * 0
    keep = torch.rand_like(X, dtype=torch.float32) >= p
    return X * keep / (1 - p)

# %% tags=["slide"]
torch.manual_seed(0)
X = torch.arange(16.0).reshape(2, 8)
for p in (0, 0.5, 1):
    print(f"p = {p}\n{dropout_layer(X, p)}")

# %%
# check 5.6-C1: p = 0 changes nothing, p = 1 leaves zeros, 0.5 gives 0 or 2x
torch.testing.assert_close(dropout_layer(X, 0), X, rtol=0, atol=0)
assert (dropout_layer(X, 1) == 0).all()
half = dropout_layer(X, 0.5)
assert ((half == 0) | (half == 2 * X)).all()
assert (half[X > 0] == 0).any() and (half[X > 0] > 0).any()
with mock.patch("torch.rand_like", torch.zeros_like):  # every draw is 0
    assert torch.equal(dropout_layer(X, 0), X)
for p in (-0.1, 1.5, float("nan")):
    try:
        dropout_layer(X, p)
    except ValueError:
        continue
    raise AssertionError(f"p = {p} was accepted")

# %%
# check 5.6-C2: mean 3, variance 9 p / (1 - p), and the share of zeros
torch.manual_seed(0)
h = torch.full((1_000_000,), 3.0)
for p, variance in ((0.1, 1.0), (0.5, 9.0), (0.8, 36.0)):
    dropped = dropout_layer(h, p)
    share = (dropped == 0).float().mean()
    print(f"p = {p}: mean {dropped.mean():.2f}, "
          f"variance {dropped.var():.1f}, zeros {share:.2f}")
    assert abs(dropped.mean() - 3) < 0.03
    assert abs(dropped.var() - variance) < 0.02 * variance
    assert abs(share - p) < 0.003

# %% [markdown]
# The gradient is treated like the value: zero where an entry was dropped, multiplied by $\frac1{1-p}$ where it was kept.

# %%
# check 5.6-C3: gradient 0 where dropped, 1 / (1 - p) where kept
torch.manual_seed(0)
X = torch.rand(1000) + 1  # no entry is 0 by itself
X.requires_grad_()
dropped = dropout_layer(X, 0.2)
dropped.sum().backward()
expected = torch.where(dropped == 0, 0.0, 1 / (1 - 0.2))
torch.testing.assert_close(X.grad, expected)
assert 100 < (X.grad == 0).sum() < 300

# %% [markdown]
# Why `>=`, and why a mask in single precision whatever the type of `X`?
# Exercise 5.6-7 breaks both.

# %% [markdown]
# ### Model
#
# The model has two hidden layers of 256 units, and dropout follows each activation.
# Each layer has its own probability; it is common to drop less near the input, where a lost value is lost for all that follows.
# The attribute `training` gives the mode of a module; `model.train()` and `model.eval()` set it, and `fit_epoch` of [Section 3.4](../03-linear-regression/04-linear-regression-scratch.ipynb) calls both.

# %% tags=["export"]
class DropoutMLPScratch(Classifier):
    """Two hidden layers, each followed by dropout; logits (n, q)."""

    def __init__(self, num_outputs, num_hiddens_1, num_hiddens_2,
                 dropout_1, dropout_2, lr):
        super().__init__()
        self.save_hyperparameters()
        self.lin1 = nn.LazyLinear(num_hiddens_1)
        self.lin2 = nn.LazyLinear(num_hiddens_2)
        self.lin3 = nn.LazyLinear(num_outputs)

    def forward(self, X):
        H = torch.relu(self.lin1(X.flatten(1)))  # (n, num_hiddens_1)
        if self.training:
            H = dropout_layer(H, self.dropout_1)
        H = torch.relu(self.lin2(H))  # (n, num_hiddens_2)
        if self.training:
            H = dropout_layer(H, self.dropout_2)
        return self.lin3(H)  # (n, q)

# %%
data = FashionMNIST(batch_size, train_size=train_size, val_size=val_size)
real = data.source == "real"
X, y = next(iter(data.val_dataloader()))  # (64, 1, 28, 28), (64,)
torch.manual_seed(0)
scratch = DropoutMLPScratch(num_outputs=10, num_hiddens_1=256,
                            num_hiddens_2=256, dropout_1=0.5,
                            dropout_2=0.5, lr=lr).eval()
print("scores:", tuple(scratch(X).shape))  # draws the weights

# %% [markdown]
# ### Training
#
# The usual demonstration trains on all 60 000 images for ten epochs, by SGD with learning rate 0.1 and batches of 256.
# To save time we use the stable recipe of [Section 5.2](02-mlp-implementation.ipynb), 10 000 images, five epochs, and Adam with batches of 64; the profile `gpu` uses the full one.

# %%
def fit(model, display=False, seed=0):
    """Train with the recipe of the parameters cell; the history."""
    recipe = getattr(torch.optim, optimizer)
    model.configure_optimizers = lambda: recipe(model.parameters(), lr=lr)
    model.board.display = display
    data.generator = torch.Generator().manual_seed(seed)
    trainer = Trainer(max_epochs, num_gpus=num_gpus)
    trainer.fit(model, data)
    model.to("cpu")
    return trainer.history


# %% tags=["rtol=0.1"]
torch.manual_seed(0)
history = fit(scratch, display=True)

# %% [markdown]
# **Figure 5.6.4.** The training loss lies *above* the validation loss: in training half of the units are missing and the network is still improving, while validation comes at the end of the epoch and uses all units.

# %% [markdown]
# The distance between the two curves is therefore not the generalization gap of [Section 3.6](../03-linear-regression/06-generalization.ipynb): they belong to two different functions.
# To know how well a network with dropout fits its training data, evaluate it on them in evaluation mode.

# %% [markdown]
# ## Concise implementation
#
# In PyTorch dropout is a layer, `nn.Dropout(p)`, which is placed after each activation.
# It has no parameters, knows its mode, and is the identity in evaluation mode.

# %% tags=["export"]
class DropoutMLP(Classifier):
    """Two hidden layers, each followed by dropout; logits (n, q)."""

    def __init__(self, num_outputs, num_hiddens_1, num_hiddens_2,
                 dropout_1, dropout_2, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.LazyLinear(num_hiddens_1), nn.ReLU(), nn.Dropout(dropout_1),
            nn.LazyLinear(num_hiddens_2), nn.ReLU(), nn.Dropout(dropout_2),
            nn.LazyLinear(num_outputs))

# %%
def make_concise(p, seed=0):
    """A DropoutMLP with initialized parameters, both probabilities p."""
    torch.manual_seed(seed)
    model = DropoutMLP(10, 256, 256, p, p, lr).eval()
    model(torch.zeros(1, 784))  # draws the weights, no masks between
    return model.train()


concise = make_concise(0.5)
count = sum(parameter.numel() for parameter in concise.parameters())
print(count, "parameters")

# %% [markdown]
# We hand the trained weights to the concise model.
# Then the two must agree exactly in evaluation mode, and in training mode they must have the same mean and the same variance.

# %%
names = concise.state_dict().keys()  # the tensors have the same order
concise.load_state_dict(dict(zip(names, scratch.state_dict().values())))

# %%
# check 5.6-C7: scratch and nn.Dropout agree; 269 322 parameters
assert count == sum(p.numel() for p in scratch.parameters()) == 269_322
torch.testing.assert_close(concise.eval()(X), scratch.eval()(X))
many = X[:1].expand(10_000, -1, -1, -1)
torch.manual_seed(0)
with torch.no_grad():
    (v1, m1), (v2, m2) = (torch.var_mean(model.train()(many), dim=0)
                          for model in (concise, scratch))
assert ((m1 - m2).abs() < 0.06 * v1.sqrt()).all()
torch.testing.assert_close(v1, v2, rtol=0.1, atol=0)
h = torch.full((1_000_000,), 3.0)
for p in (0.2, 0.5):
    for layer in (nn.Dropout(p), lambda h: dropout_layer(h, p)):
        assert abs(layer(h).mean() - 3) < 0.03
        assert abs(layer(h).var() / (9 * p / (1 - p)) - 1) < 0.02

# %% [markdown]
# ### Two modes
#
# Training mode and evaluation mode are two functions of the input, a random one and a fixed one.

# %% tags=["slide"]
# check 5.6-C4: eval() is the network without dropout, train() is random
without = make_concise(0.0).train()
without.load_state_dict(concise.state_dict())
concise.eval()
torch.testing.assert_close(concise(X), concise(X), rtol=0, atol=0)
torch.testing.assert_close(concise(X), without(X), rtol=0, atol=0)
concise.train()
assert (concise(X) != concise(X)).any()

# %% [markdown]
# And each probability must reach its own layer: with $p_1=1$ and $p_2=0$ all images get the same scores, with $p_1=0$ and $p_2=1$ only the last bias is left.

# %%
for kind in (DropoutMLPScratch, DropoutMLP):
    for first, second in ((1, 0), (0, 1)):
        torch.manual_seed(0)
        model = kind(10, 16, 16, first, second, lr)
        model(X)  # draws the weights
        out = model(X)  # (64, 10), in training mode
        *_, bias = model.parameters()  # of the last layer
        torch.testing.assert_close(out, out[:1].expand_as(out))
        assert torch.allclose(out[0], bias) == (second == 1)

# %% [markdown]
# What is missing is the comparison: the same initial weights, the same batches, no dropout.

# %%
plain = make_concise(0.0)
plain_history = fit(plain)

# %% tags=["rtol=0.1"]
def assess(model, loader):
    """Loss and accuracy on the batches of a loader, in evaluation mode."""
    scores, labels = predict(model, loader)
    return (model.loss(scores, labels).item(),
            model.accuracy(scores, labels).item())


runs = {"p = 0.5": (concise, history), "p = 0": (plain, plain_history)}
table = {}
print("             training loss           accuracy")
print("          while training  after  training  validation")
for name, (model, run) in runs.items():
    after, train_acc = assess(model, data.train_dataloader())
    _, val_acc = assess(model, data.val_dataloader())
    table[name] = run["train_loss"][-1], after, train_acc, val_acc
    print(f"{name:9}{table[name][0]:15.2f}{after:7.2f}"
          f"{train_acc:10.2f}{val_acc:12.2f}")

# %%
# check 5.6-C8: higher loss in training mode, hardly another accuracy
setting = (train_size, val_size, batch_size, optimizer, lr, max_epochs)
laptop = (10_000, 2_000, 64, "Adam", 1e-3, 5)
full = (60_000, 10_000, 256, "SGD", 0.1, 10)
(noisy_loss, noisy_after, _, noisy_acc), (
    loss, after, fit_acc, acc) = table.values()
assert noisy_loss > loss and noisy_after - after < noisy_loss - loss
assert noisy_after > after  # the part that stays
if real and setting in (laptop, full):
    assert noisy_loss > loss + 0.04
    assert 0.80 < acc < 0.88 and 0.80 < noisy_acc < 0.88
    assert abs(acc - noisy_acc) < 0.05
    assert fit_acc - acc < 0.06
if real and setting == full:  # the published recipe
    assert 0.33 < loss < 0.37 and 0.40 < noisy_loss < 0.44
    assert abs(acc - noisy_acc) < 0.03 and fit_acc - acc < 0.04

# %% [markdown]
# The loss *while training* is higher with dropout, and missing units are part of the reason: evaluated without noise (column "after") the difference shrinks.
# A part of it stays: after equal epochs the network with dropout has learned its training images less well.
#
# The accuracy on new images is hardly different: the two values lie about as far apart as the accidents of 2000 test images and of the seed would put them ([Section 4.6](../04-linear-classification/06-generalization-classification.ipynb)).
# Without dropout, the accuracy on the training images is only slightly above that on new images, so after these five epochs there was little overfitting to cure.

# %% [markdown]
# ### The forgotten `eval()`
#
# A common bug with dropout is not in its formula: you load a trained model, predict, and forget `model.eval()`.
# The model is in training mode by default, nothing complains, and half of the units are missing.

# %% tags=["rtol=0.1"]
scores, labels = predict(concise, data.val_dataloader())  # calls eval()
right = concise.accuracy(scores, labels).item()
concise.train()  # the bug: training mode
torch.manual_seed(0)
with torch.no_grad():
    bug = [concise.accuracy(concise(data.X_val), labels).item()
           for _ in range(5)]
print("eval():", f"{right:.2f}", " without:",
      *(f"{accuracy:.2f}" for accuracy in bug))
assert len(set(bug)) > 1  # another accuracy in each call
if real and setting in (laptop, full):
    assert max(bug) < right
_ = concise.eval()

# %% [markdown]
# The accuracy is lower, and it changes from call to call, which is the symptom to look for: a model in evaluation mode gives the same answer twice.
# Two relatives of this bug are as quiet.
# A validation loop that calls `eval()` and no `train()` after it switches dropout off for the rest of the training.
# And the function `F.dropout`, unlike the layer, does not know the mode of the model that calls it: its argument `training` is True by default, so write `F.dropout(H, p, training=self.training)`.

# %%
class Careless(nn.Module):
    def forward(self, H):
        return F.dropout(H, 0.5)  # right: training=self.training


ones = torch.ones(1000)
assert (Careless().eval()(ones) == 0).any()  # drops although in eval()
assert (nn.Dropout(0.5).eval()(ones) == 1).all()

# %% [markdown]
# ### One unit in both modes
#
# We send one image through the network 5000 times in training mode and look at two units of the second hidden layer: the one that responds most strongly, and one that in evaluation mode is just not active.

# %%
image = data.X_val[:1].expand(5000, -1, -1, -1)
before_relu = concise.net[:5]  # up to the second affine layer
with torch.no_grad():
    fixed = before_relu(image[:1])[0]  # (256,), evaluation mode
    concise.train()
    torch.manual_seed(0)
    sums = before_relu(image)  # (5000, 256), first layer's masks
    noisy = concise.net[6](sums.relu())  # (5000, 256), dropped as well
    concise.eval()
strong = fixed.argmax().item()
silent = torch.where(fixed < 0, fixed, -torch.inf).argmax().item()

# %% tags=["timing", "hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 2.8))
for ax, unit, name in zip(axes, (strong, silent), ("strong", "silent")):
    value = fixed[unit].relu().item()
    ax.hist(noisy[:, unit].tolist(), 50, color="C2", label="training mode")
    ax.axvline(noisy[:, unit].mean().item(), color="C0", lw=2,
               label="their mean")
    ax.axvline(value, color="C1", ls="--", lw=2, label="evaluation mode")
    ax.set(xlabel="activation after dropout", title=f"a {name} unit",
           yscale="log")
axes[0].set_ylabel("passes")
axes[1].legend()
d2l.describe(axes, """Histograms of the activation of two units over 5000
    passes, with a tall bar at zero. Left, a strong unit: the mean over the
    passes lies on the dashed line of evaluation mode. Right, a unit that is
    0 in evaluation mode: the mean over the passes is above 0.""")

# %% [markdown]
# **Figure 5.6.5.** Two units, for one image.
# Left, half of the passes give 0 and the others scatter around twice the value of evaluation mode, so the mean of all is close to that value.
# Right, a unit that is silent in evaluation mode but not in training: the noise from the layer below lifts it above the threshold of its ReLU now and then.

# %% tags=["timing"]
mean = noisy[:, strong].mean() / fixed[strong]
print(f"strong unit: mean over passes / evaluation = {mean:.2f}")
print(f"silent unit: mean over passes = {noisy[:, silent].mean():.2f}")
assert ((noisy == 0).float().mean(dim=0) > 0.45).all()
assert noisy[:, silent].mean() > 0 and fixed[silent] < 0
if real and setting in (laptop, full):
    assert 0.9 < mean < 1.15

# %% [markdown]
# So (5.6.3) holds exactly for the unit that is dropped, but not for what comes after the next nonlinearity: the mean of $\operatorname{ReLU}(z)$ is not ReLU of the mean of $z$.
# The network in evaluation mode is an approximation to the average of the networks of training.

# %% [markdown]
# ## What dropout is in a linear model
#
# ### Squared loss: ridge with a price list
#
# Put dropout on the features of a linear regression.
# With the same argument as for (5.6.1), squared mean plus variance, and the variance (5.6.4) of the weighted sum,
#
# $$E\left[\Big\|\mathbf{y}-\frac{\mathbf{X}\odot\mathbf{M}}{1-p}\mathbf{w}\Big\|^2\right] = \|\mathbf{y}-\mathbf{X}\mathbf{w}\|^2+\frac p{1-p}\sum_{j=1}^dw_j^2\sum_{i=1}^n\left(x_j^{(i)}\right)^2, \tag{5.6.5}$$
#
# where $\mathbf{M}$ of shape $(n,d)$ has independent entries that are 1 with probability $1-p$ and otherwise 0, and $\odot$ multiplies entry by entry.
# This is ridge regression again, but the price of a weight depends on its feature.
# Large features are taxed more, in proportion to their squared size, so it does not matter in which units a feature is measured, as it does for plain ridge.
#
# The expectation over $\mathbf{M}$ is a finite sum, so we can check the claim without random numbers.
# Four features have 16 masks; the examples are masked independently, so each is averaged over its own 16.

# %%
def all_masks(d):
    """Every mask of d entries, (2**d, d), with 1 for kept."""
    return ((torch.arange(2**d)[:, None] >> torch.arange(d)) & 1).to(f64)


def mask_probabilities(masks, p):
    """Probability of each mask (m, d) if entries are dropped with p."""
    return ((1 - p) * masks + p * (1 - masks)).prod(dim=1)  # (m,)


masks = all_masks(4)  # (16, 4)
P = mask_probabilities(masks, 0.3)  # (16,)
print(masks[:6].long().tolist(), f"... sum of P: {P.sum():.6f}")

# %%
# check 5.6-C5: both sides of (5.6.5), by enumeration
p = 0.3
g = torch.Generator().manual_seed(1)
X = torch.randn(6, 4, generator=g, dtype=f64)
y = torch.randn(6, 1, generator=g, dtype=f64)
w = torch.randn(4, generator=g, dtype=f64)
predictions = (X[:, None] * masks / (1 - p)) @ w  # (6, 16)
expected = ((y - predictions) ** 2 @ P).sum()
price = p / (1 - p) * (w**2 @ (X**2).sum(dim=0))
closed = ((y[:, 0] - X @ w) ** 2).sum() + price
print(f"left side {expected:.6f}, right side {closed:.6f}")
torch.testing.assert_close(expected, closed, rtol=0, atol=1e-10)

# %% [markdown]
# Here is co-adaptation in its smallest form.
# Take one feature $x$, offered twice, and labels $y=2x$.
# The weights $(2,0)$ fit perfectly, and so do $(1,1)$ and $(7,-5)$; in the last case two units work against each other, and each is harmful without its partner.
# Under dropout with $p=\frac12$ the three have very different prices, $4$, $2$ and $74$ times $\sum_i(x^{(i)})^2$.
# The minimum of $(w_1+w_2-2)^2+w_1^2+w_2^2$ is at $w_1=w_2=\frac23$: the work is shared equally, and the prediction shrinks to $\frac43x$.

# %%
torch.manual_seed(0)
x = torch.randn(100, 1)
X, y = x.expand(-1, 2), 2 * x  # (100, 2), (100, 1)
w, path = torch.tensor([[7.0], [-5.0]], requires_grad=True), []
for _ in range(2000):
    loss = ((y - dropout_layer(X, 0.5) @ w) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.02 * w.grad
        w.grad = None
    path.append(w.detach()[:, 0].clone())
average = torch.stack(path[1000:]).mean(dim=0)  # over the jitter
print(f"weights: {average[0]:.2f} and {average[1]:.2f}")
assert (average - 2 / 3).abs().max() < 0.08

# %% [markdown]
# ### Softmax: a geometric mean
#
# A network of $d$ units with dropout is a mixture of $2^d$ networks, and a natural prediction would be the average of theirs.
# For softmax regression the network without noise does compute an average, but another one: the *geometric* mean of the predicted probabilities over all masks, divided by its sum to make it a distribution again.
# The geometric mean is an average of logarithms,
#
# $$\sum_{\mathbf{m}}P(\mathbf{m})\log\hat y_k(\mathbf{m}) = \sum_{\mathbf{m}}P(\mathbf{m})\left(o_k(\mathbf{m})-\log\sum_l\exp o_l(\mathbf{m})\right) = o_k-C, \tag{5.6.6}$$
#
# where $\mathbf{m}$ of shape $(d,)$ runs over all masks and $P(\mathbf{m})$ is the probability of a mask, $o_k(\mathbf{m})$ and $\hat y_k(\mathbf{m})$ are the logit and the probability of class $k$ under this mask, and $o_k$ is the logit without noise, which is the mean of $o_k(\mathbf{m})$ because logits are linear in the inputs.
# The number $C$ is the same for all classes, and dividing by the sum removes it.
# What remains is the softmax of the logits without noise.

# %%
# check 5.6-C6: softmax without noise is the geometric mean over masks
g = torch.Generator().manual_seed(2)
x = torch.randn(4, generator=g, dtype=f64)
W = 2 * torch.randn(4, 3, generator=g, dtype=f64)
b = torch.randn(3, generator=g, dtype=f64)
P = mask_probabilities(masks, 0.5)  # (16,)


def two_means(logits):
    """Geometric (normalized) and arithmetic mean over masks, (3,) each."""
    log_probs = F.log_softmax(logits, dim=1)  # (16, 3)
    return torch.softmax(P @ log_probs, dim=0), P @ log_probs.exp()


geometric, arithmetic = two_means(x * masks / 0.5 @ W + b)
noise_free = torch.softmax(x @ W + b, dim=0)
torch.testing.assert_close(geometric, noise_free, rtol=0, atol=1e-10)
assert (arithmetic - noise_free).abs().max() > 0.05
for name, values in (("noise-free", noise_free), ("geometric", geometric),
                     ("arithmetic", arithmetic)):
    print(f"{name:11}", *(f"{value:.4f}" for value in values.tolist()))

# %% [markdown]
# The same holds for any network with dropout on its *last* hidden layer only, since the logits are linear in that layer.
# Below a nonlinearity it no longer holds, for the reason seen in Figure 5.6.5; there the noise-free network only approximates the geometric mean.

# %%
V = torch.randn(3, 3, generator=g, dtype=f64)  # one more layer
hidden = x * masks / 0.5 @ W  # (16, 3), before its activation
geometric, _ = two_means(hidden.relu() @ V)
noise_free = torch.softmax((x @ W).relu() @ V, dim=0)
print(f"largest difference: {(geometric - noise_free).abs().max():.3f}")
assert (geometric - noise_free).abs().max() > 0.01

# %% [markdown]
# ## When does it help?
#
# Dropout is a remedy for overfitting, so let the network overfit: 1000 images, 40 epochs of Adam with batches of 50, and $p$ from 0 to 0.8 for both layers, three seeds each.
# The twelve networks are trained together as a `Stack` ([Section 5.1](01-multilayer-perceptrons.ipynb)).
# Stacked networks may differ in their parameters only, so the probability becomes one, without a gradient.

# %%
device = d2l.try_device(quiet=True)
X, y = data.X_train.flatten(1).to(device), data.y_train.to(device)
X_new = data.X_val[:2000].flatten(1).to(device)
y_new = data.y_val[:2000].to(device)


class Drop(nn.Module):
    """Dropout with a probability that is a tensor."""

    def __init__(self, p):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(float(p)), requires_grad=False)

    def forward(self, H):
        if not self.training:
            return H
        return H * (torch.rand_like(H) >= self.p) / (1 - self.p)


def make_net(p1, p2, seed):
    """A DropoutMLP whose two probabilities are tensors."""
    model = make_concise(0.0, seed)
    model.net[3], model.net[6] = Drop(p1), Drop(p2)
    return model


@torch.no_grad()
def measure(stack, X, y):
    """Loss, accuracy and mean confidence of each network, (3, nets)."""
    scores = stack.eval()(X)  # (nets, n, 10), without dropout
    stack.train()
    losses = torch.vmap(F.cross_entropy, in_dims=(0, None))(scores, y)
    confidence, answer = scores.softmax(dim=-1).max(dim=-1)
    return torch.stack([losses, (answer == y).float().mean(dim=1),
                        confidence.mean(dim=1)])

# %%
def train_many(settings, seeds, n=1000, epochs=few_epochs, every=5,
               decay=0.0):
    """Train networks with each setting (p1, p2) and seed on n images.

    Networks of one seed see the same batches. Returns (points, 6,
    settings, seeds): loss, accuracy, confidence on the training images,
    then on new ones; and the stack.
    """
    stack = Stack([make_net(*pair, seed) for pair in settings
                   for seed in seeds]).to(device)
    adam = torch.optim.Adam(stack.parameters(), lr=1e-3,
                            weight_decay=decay, fused=True)
    rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
    torch.manual_seed(0)  # the masks
    points = []
    for epoch in range(1, epochs + 1):
        order = torch.stack([torch.randperm(n, generator=g) for g in rngs])
        order = order.repeat(len(settings), 1).to(device)  # (nets, n)
        train_stack(stack, X, y, order.split(50, dim=1), F.cross_entropy,
                    adam)
        if epoch % every == 0 or epoch == epochs:
            points.append(torch.cat([measure(stack, X[:n], y[:n]),
                                     measure(stack, X_new, y_new)]))
    shape = -1, 6, len(settings), len(seeds)
    return torch.stack(points).reshape(shape).cpu(), stack

# %% [markdown]
# Two tests before we trust the stack: a network with $p=0$ must end where it ends alone, and every network must draw its own masks.

# %%
_, pack = train_many([(0.0, 0.0), (0.5, 0.5)], [0, 1], epochs=1)
net = make_concise(0.0, seed=1).to(device)
adam = torch.optim.Adam(net.parameters(), lr=1e-3)
g = torch.Generator().manual_seed(1)
for index in torch.randperm(1000, generator=g).to(device).split(50):
    loss = net.loss(net(X[index]), y[index])
    adam.zero_grad()
    loss.backward()
    adam.step()
torch.testing.assert_close(pack.eval()(X_new[:100])[1], net(X_new[:100]),
                           rtol=0, atol=1e-3)
one = make_net(0.0, 0.5, seed=0)  # drops in the second layer only
assert (one.net[3].p, one.net[6].p) == (0.0, 0.5)
with mock.patch("torch.rand_like", torch.zeros_like):  # every draw is 0
    assert torch.equal(Drop(0)(X_new), X_new)
twins = Stack([make_net(0.5, 0.5, seed=0) for _ in range(2)]).to(device)
first, second = twins(X_new[:10])  # (10, 10) each, in training mode
assert (first != second).all(dim=1).any()
assert abs(Drop(0.2)(torch.ones(100_000)).mean() - 1) < 0.01
first, second = twins.eval()(X_new[:10])
torch.testing.assert_close(first, second)
assert not measure(twins, X_new[:10], y_new[:10]).requires_grad

# %% tags=["rtol=0.1", "slide"]
rates = (0.0, 0.2, 0.5, 0.8)
curves, _ = train_many([(p, p) for p in rates], range(num_seeds))
final = curves[-1].mean(dim=-1)  # (6, rates)
print("   p   training     new images:")
print("       accuracy   accuracy  loss  confidence - accuracy")
for p, row in zip(rates, final.T.tolist()):
    print(f"{p:5.1f}{row[1]:10.2f}{row[4]:11.2f}{row[3]:6.2f}"
          f"{row[5] - row[4]:23.2f}")

# %% tags=["rtol=0.3"]
x_axis = [min(5 * (i + 1), few_epochs) for i in range(len(curves))]
loss_curves = curves[:, (0, 3)].mean(dim=-1)  # (points, 2, rates)
_, axes = plt.subplots(1, 2, figsize=(7.2, 3))
for ax, column, name in zip(axes, (0, 1), ("training", "new")):
    d2l.plot(x_axis, loss_curves[:, column].T, [f"p = {p}" for p in rates],
             xlabel="epoch", ylabel="loss, without dropout",
             title=f"{name} images", ax=ax)
axes[0].get_legend().remove()
d2l.describe(axes, """Loss against the epoch for four dropout probabilities.
    On the training images it falls everywhere, the slower the larger p. On
    new images it falls and then rises steeply for p = 0, later and less for
    0.2, a little for 0.5, and falls to the end for 0.8.""")

# %% [markdown]
# **Figure 5.6.6.** Mean of all seeds, evaluated without dropout.
# The larger $p$, the slower the training images are learned, and the less the loss on new images has risen by the end; its lowest point comes later with 0.5 than without dropout, and with 0.8 not before the last epochs.

# %%
# check 5.6-C9: on 1000 real images dropout lowers the loss, not the errors
train_acc, acc, loss = final[1], final[4], final[3]
over = final[5] - acc  # confidence above accuracy
assert (curves[-1, 0, 2] > curves[-1, 0, 0]).all()  # training loss
measured = real and few_epochs == 40 and num_seeds >= 3
if measured:
    assert train_acc[0] > 0.95 and train_acc[3] < 0.90
    assert loss[2] < loss[0] - 0.1
    assert abs(acc[2] - acc[0]) < 0.03
    assert acc[3] < acc[0]  # 0.8 is too much
    assert over[2] < over[0] - 0.01
    best, turn = loss_curves[:, 1].min(dim=0)  # and where it turns
    assert abs(best[0] - best[2]) < 0.08
    assert turn[0] < turn[2] and turn[3] >= len(curves) - 2
    rise = loss_curves[-1, 1] - best
    assert (rise.diff() < -0.02).all() and rise[0] > 0.2
    assert (loss_curves[-1, 0].diff() > 0).all()  # training images

# %% [markdown]
# On these 1000 images the accuracy hardly moves between $p=0$ and $p=\frac12$, although the plain network knows its training images by heart.
# What changes is the *loss* on new images, and with it the honesty of the probabilities.
# The last column of the table shows it: the plain network is right in four of five cases and claims to be right in more than nine of ten.
# This *overconfidence* is what the cross-entropy punishes, and dropout reduces it (Guo and co-authors, 2017, describe the phenomenon for large networks).
# With $p=0.8$ the network has not yet learned its training images after 40 epochs, its accuracy is lower, and it claims slightly less than it achieves: too little confidence instead of too much.
#
# Part of the gain can be had in another way.
# Early in training the loss of the plain network was nearly as low as that of $p=\frac12$ at its best, both found with hindsight on the new images.
# Early stopping ([Section 5.5](05-generalization-deep-learning.ipynb)) buys much of what dropout buys here, but one has to stop in time, whereas with $p=\frac12$ the loss stays near its minimum for many epochs.
#
# Does the gain depend on the amount of data?
# The question has a trap: with twice the images an epoch has twice the steps, so epochs and steps cannot both be equal.
# We compare both ways.

# %% tags=["rtol=0.3"]
n = min(2000, len(X))
run, _ = train_many([(0.0, 0.0), (0.5, 0.5)], range(2), n=n,
                    epochs=long_epochs)
x_axis = {1000: [5 * (i + 1) for i in range(len(curves))],
          n: [5 * (i + 1) for i in range(len(run))]}
gains = {}  # (images, epochs): gain in loss and in accuracy
for size, points in ((1000, curves[:, :, ::2, :2]), (n, run)):
    for epoch, point in zip(x_axis[size], points.mean(dim=-1)):
        gains[size, epoch] = ((point[3, 0] - point[3, 1]).item(),
                              (point[4, 1] - point[4, 0]).item())
print("images  epochs  steps   gain in loss  in accuracy")
for (size, epoch), (in_loss, in_acc) in gains.items():
    if epoch in (10, 20, 40):
        print(f"{size:6}{epoch:8}{size * epoch // 50:7}{in_loss:13.2f}"
              f"{in_acc:13.2f}")

# %%
if measured and n == 2000 and long_epochs >= 20:
    same_steps, same_epochs = gains[2000, 10][0], gains[2000, 20][0]
    reference = gains[1000, 20][0]
    assert reference > 0.04 and same_steps < 0.02  # the gain seems gone
    assert same_epochs > reference / 2  # and is not
    assert gains[1000, 40][0] > reference + 0.1
    assert all(abs(in_acc) < 0.02 for (_, epoch), (_, in_acc)
               in gains.items() if epoch >= 20)

# %% [markdown]
# After 400 *steps* there is a gain on 1000 images and none with twice the data (two seeds), and one could conclude that dropout is for small data sets only.
# After equal *epochs* the gain is there again.
# In both sizes the gain appeared only later in training; the larger set needs more steps to get there.
# So a comparison that trains the larger set for fewer epochs measures its own stopping time.
# In accuracy the two lie within two points of each other from epoch 20 on; Srivastava and co-authors (2014), who trained larger networks for longer, report fewer errors too.
#
# Large language models see most of their data once or a few times, and many are pretrained without dropout (PaLM, for example: Chowdhery and co-authors, 2022); in convolutional networks batch normalization has largely taken its place; where a network goes through a limited data set many times, dropout is still common.

# %% [markdown]
# ## Monte Carlo dropout
#
# There is one exception to the rule that nothing is dropped in prediction.
# Keep dropout active and send the same input through the network $k$ times:
#
# $$\bar{\mathbf{y}} = \frac1k\sum_{r=1}^k\hat{\mathbf{y}}_r,\qquad \mathbf{s}^2 = \frac1{k-1}\sum_{r=1}^k\left(\hat{\mathbf{y}}_r-\bar{\mathbf{y}}\right)^2, \tag{5.6.7}$$
#
# where $\hat{\mathbf{y}}_r$ of shape $(q,)$ holds the class probabilities of pass $r$, and the square is taken entry by entry.
# The mean $\bar{\mathbf{y}}$ approximates the arithmetic average over all masks, and the standard deviation $\mathbf{s}$ shows how much the sub-networks disagree.
# Gal and Ghahramani (2016) read this as approximate Bayesian inference, with $\mathbf{s}$ as a measure of the uncertainty of the model.

# %%
@torch.no_grad()
def mc_predict(model, X, k):
    """Mean and standard deviation of k >= 2 stochastic passes, (n, q) each.

    The mode of the model is restored afterwards.
    """
    was_training = model.training
    model.train()  # with batch normalization: only the nn.Dropout layers
    passes = torch.stack([model(X).softmax(dim=-1) for _ in range(k)])
    model.train(was_training)
    return passes.mean(dim=0), passes.std(dim=0)


concise.eval()
torch.manual_seed(0)
mean, std = mc_predict(concise, data.X_val, 30)
assert not concise.training and mean.shape == (len(labels), 10)
torch.testing.assert_close(mean.sum(dim=1), torch.ones(len(labels)))
mc_predict(concise.train(), data.X_val[:1], 2)
assert concise.training  # the mode is restored, whichever it was
_ = concise.eval()

# %% tags=["timing", "hide-input"]
chosen, k = (64, 27), 100
pictures = data.X_val[list(chosen)]  # (2, 1, 28, 28)
concise.train()
torch.manual_seed(0)
with torch.no_grad():
    passes = torch.stack([concise(pictures).softmax(dim=-1)
                          for _ in range(k)])  # (100, 2, 10)
concise.eval()
fixed = concise(pictures).softmax(dim=-1).detach()  # (2, 10)
jitter = torch.linspace(-0.28, 0.28, k)
_, axes = plt.subplots(2, 2, figsize=(7.2, 4), width_ratios=[1, 3.6])
for i, (left, right) in enumerate(axes):
    left.imshow(pictures[i, 0], cmap="gray")
    left.set_title(f"label: {data.text_labels(data.y_val[[chosen[i]]])[0]}")
    left.axis("off")
    for c in range(10):
        right.plot(c + jitter, passes[:, i, c], ".", ms=3, color="C0")
        right.plot([c - 0.4, c + 0.4], [fixed[i, c]] * 2, color="C1", lw=2.5)
    right.set(xticks=[], ylabel="probability", ylim=(-0.04, 1.04))
axes[1, 1].set_xticks(range(10), data.text_labels(range(10)), rotation=40,
                      ha="right", rotation_mode="anchor")
d2l.describe(axes, """Two images with the probabilities of the ten classes in
    100 passes. For the first, all passes give nearly all probability to one
    class. For the second, the probabilities of some classes scatter
    widely.""")

# %% [markdown]
# **Figure 5.6.7.** Two images, chosen for their contrast; each dot is one pass with dropout, each orange line the prediction without.
# On the upper image the sub-networks agree, on the lower they disagree.

# %% [markdown]
# If disagreement means uncertainty, it should be larger where the network is wrong.
# As a measure we take the probability that a wrong answer has a higher score than a right one: 1 is perfect, $\frac12$ guessing (*AUROC*, the area under the ROC curve).
# There is a free rival, one minus the largest probability of the ordinary prediction.

# %% tags=["rtol=0.2"]
def separation(score, wrong):
    """P(score of a wrong answer > score of a right one); ties half."""
    a, b = score[wrong][:, None], score[~wrong]
    return ((a > b).double() + 0.5 * (a == b)).mean().item()


ordinary = torch.softmax(scores, dim=-1)  # from `predict` above
answer = ordinary.argmax(dim=-1)
wrong = answer != labels
spread = std.gather(1, answer[:, None])[:, 0]  # of the answered class
rival = 1 - ordinary.max(dim=-1).values
by_spread, by_rival = separation(spread, wrong), separation(rival, wrong)
by_mean = separation(1 - mean.max(dim=-1).values, wrong)  # of the passes
print(f"mean spread: right {spread[~wrong].mean():.2f}, "
      f"wrong {spread[wrong].mean():.2f}")
print(f"separation: spread {by_spread:.2f}, "
      f"one minus largest probability {by_rival:.2f}, "
      f"of the mean {by_mean:.2f}")
assert separation(torch.tensor([1, 1, 2]),
                  torch.tensor([True, False, False])) == 0.25  # one tie
if real and setting in (laptop, full):
    assert spread[wrong].mean() > 1.2 * spread[~wrong].mean()
    assert 0.65 < by_spread < by_rival - 0.05
    assert abs(by_mean - by_rival) < 0.03

# %% [markdown]
# The spread does tell wrong answers from right ones, but here the ordinary probability, from one pass, does it better, and the mean of the thirty passes about as well as that.
# And the size of the spread depends on $p$, which *we* have chosen.
# Treat it as a ranking, not as a probability of being wrong.

# %% [markdown]
# ## Summary
#
# - Besides few dimensions and small weights, insensitivity to noise is a third form of simplicity, and the three are usually combined; in a linear model noise on the inputs *is* a penalty on the weights.
# - Dropout replaces an activation $h$ by 0 or $\frac h{1-p}$: mean $h$, variance $h^2\frac p{1-p}$, in training only.
# - In a linear model with squared loss it is ridge regression with a price that grows with the feature; for softmax regression the noise-free model is the geometric mean over all masks; for deeper networks it approximates that.
# - A training loss measured with dropout is the loss of another function: compare it with nothing but itself.
# - A forgotten `eval()` shows in predictions that change from call to call.
# - Dropout helps once the network overfits: on 1000 images it improved loss and calibration more than accuracy, and before the overfitting began it improved nothing. Compare at equal epochs as well as at equal steps.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 5.6-1
#
# Use different probabilities in the two layers, 0.2 and 0.5, and then swap them.
# Does the order matter?
# Decide beforehand how large a difference you would believe.

# %% [markdown]
# #### Solution 5.6-1

# %% [markdown]
# A network of one seed on 2000 test images has an accuracy that is known to about $\pm0.02$ ([Section 4.6](../04-linear-classification/06-generalization-classification.ipynb)), so with three seeds on the same images nothing below a hundredth deserves an explanation.

# %% tags=["rtol=0.1"]
run, _ = train_many([(0.2, 0.5), (0.5, 0.2)], range(num_seeds),
                    n=500, epochs=few_epochs // 2, every=1000)
accuracies = run[-1, 4].mean(dim=-1)  # (2,)
for name, value in zip(("0.2, 0.5", "0.5, 0.2"), accuracies.tolist()):
    print(f"p = {name}: accuracy {value:.2f}")
if measured:
    assert abs(accuracies[0] - accuracies[1]) < 0.02

# %% [markdown]
# In this run the order does not matter visibly.
# Srivastava and co-authors recommend keeping more of the input itself than of the hidden layers.
# That is another question than ours: both of our layers are hidden ones.

# %% [markdown]
# ### Exercise 5.6-2
#
# Train longer, on 250 images, with and without dropout.
# What happens to the loss and to the accuracy on new images in 60 epochs?

# %% [markdown]
# #### Solution 5.6-2

# %% tags=["rtol=0.3"]
run, _ = train_many([(0.0, 0.0), (0.5, 0.5)], range(2), n=250,
                    epochs=3 * few_epochs // 2, every=6)
loss, acc = run[:, 3].mean(dim=-1), run[:, 4].mean(dim=-1)  # (points, 2)
x_axis = [6 * (i + 1) for i in range(len(run))]
_, axes = plt.subplots(1, 2, figsize=(7.2, 2.7))
for ax, values, name in zip(axes, (loss, acc), ("loss", "accuracy")):
    d2l.plot(x_axis, values.T, ["p = 0", "p = 0.5"], xlabel="epoch",
             ylabel=f"{name} on new images", ax=ax)
d2l.describe(axes, """Loss and accuracy on new images over 60 epochs on 250
    training images. Without dropout the loss rises steadily after an early
    minimum while the accuracy stays; with dropout the loss rises later and
    less.""")
rise = loss[-1] - loss.min(dim=0).values  # (2,)
if measured:
    assert rise[0] > 0.15 and rise[1] < rise[0]
    assert (acc[-1] > acc.max(dim=0).values - 0.03).all()

# %% [markdown]
# **Figure 5.6.8.** The loss of the plain network rises after its minimum, while its accuracy does not fall.

# %% [markdown]
# Without dropout the loss on new images rises while wrong answers do not become more numerous, so what rises is the price of the answers.
# That fits the overconfidence in the table of the main run; here we have not measured it.
# Dropout delays and slows the rise of the loss, and does not stop it.

# %% [markdown]
# ### Exercise 5.6-3
#
# Follow the variance of the activations of the second hidden layer during training, with and without dropout.
# By which factor does dropout change their second moment $E[h^2]$?

# %% [markdown]
# #### Solution 5.6-3

# %% [markdown]
# By (5.6.3), $E[h'^2]=h^2+h^2\frac p{1-p}=\frac{h^2}{1-p}$ for each unit, so the factor is $\frac1{1-p}$ whatever the activations are, at the beginning of training and at its end.

# %%
def follow(p, epochs=6):
    """Variance before and after the dropout, ratio of second moments."""
    net, rows = make_concise(p), []
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    X, y = data.X_train[:1000], data.y_train[:1000]
    torch.manual_seed(0)
    for _ in range(epochs):
        for index in torch.randperm(len(X)).split(50):
            loss = net.loss(net(X[index]), y[index])
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            H = net.net[:6](X)  # (1000, 256), in training mode
            D = net.net[6](H)  # the same after dropout
        rows.append((H.var(), D.var(), (D**2).mean() / (H**2).mean()))
    return torch.tensor(rows).T  # (3, epochs)

# %% tags=["rtol=0.2"]
(plain_var, _, plain_ratio), (before, after, ratio) = follow(0.0), follow(0.5)
ax = d2l.plot(range(1, 7), [after, before, plain_var],
              ["p = 0.5, after dropout", "p = 0.5, before dropout", "p = 0"],
              xlabel="epoch", ylabel="variance of layer 2")
d2l.describe(ax, """Variance of the activations of the second hidden layer
    over six epochs. All three curves rise steeply at first; the variance
    after dropout is more than twice that before it.""")
assert (ratio / 2 - 1).abs().max() < 0.05 and (plain_ratio == 1).all()
assert (after > 2 * before).all()

# %% [markdown]
# **Figure 5.6.9.** The variances change while the network learns.
# Dropout more than doubles the variance: it doubles the second moment (checked above, within five per cent) and leaves the mean as it is.

# %% [markdown]
# ### Exercise 5.6-4
#
# Why is dropout switched off in prediction?
# Compare the accuracy of the mean of 1, 10 and 100 stochastic passes with the ordinary prediction, and measure how the standard error of the mean depends on their number.

# %% [markdown]
# #### Solution 5.6-4

# %% [markdown]
# A single stochastic pass is a worse network, and the answer to one and the same question would depend on chance.
# Averaging removes the noise, but at a price: the standard error of a mean of $k$ independent passes falls as $1/\sqrt k$, so a tenth of the error costs a hundred times the work.

# %% tags=["rtol=0.2"]
concise.train()
torch.manual_seed(0)
with torch.no_grad():
    many = data.X_val[:20].repeat(1000, 1, 1, 1)
    passes = concise(many).softmax(dim=-1).reshape(1000, 20, 10)
concise.eval()
error = {}
for k in (1, 10, 100):
    means = passes.reshape(-1, k, 20, 10).mean(dim=1)  # (1000 / k, 20, 10)
    error[k] = means.std(dim=0).mean().item()
    print(f"k = {k:3}: standard error {error[k]:.4f}")
assert abs(error[1] / error[10] / 10**0.5 - 1) < 0.15
assert abs(error[1] / error[100] / 10 - 1) < 0.25

# %% tags=["rtol=0.1"]
concise.train()
with torch.no_grad():
    passes = torch.stack([concise(data.X_val[:500]).softmax(dim=-1)
                          for _ in range(100)])  # (100, 500, 10)
concise.eval()
hits = {}
for k in (1, 10, 100):  # 100, 10 and 1 means of k passes
    means = passes.unflatten(0, (-1, k)).mean(dim=1)  # (100 / k, 500, 10)
    right = means.argmax(dim=-1)
    hits[k] = (right == labels[:500]).float().mean().item()
ordinary_hits = (answer[:500] == labels[:500]).float().mean().item()
print(*(f"k = {k}: {hit:.2f}" for k, hit in hits.items()), sep=", ",
      end=f", without dropout: {ordinary_hits:.2f}\n")
if real and setting in (laptop, full):
    assert hits[1] < hits[100] - 0.01
    assert abs(hits[100] - ordinary_hits) < 0.03

# %% [markdown]
# Here single passes are right less often, and the mean of a hundred is about as accurate as one pass without dropout.

# %% [markdown]
# ### Exercise 5.6-5
#
# Dropout and weight decay are often used together.
# Train on 250 images with each, both and neither, and fill a table of two rows and two columns with the loss on new images.
# Do the effects add up?

# %% [markdown]
# #### Solution 5.6-5

# %% [markdown]
# The column without decay is the run of Exercise 5.6-2; the other column is trained in the same way with the penalty $\frac\lambda2\|\mathbf{w}\|^2$, $\lambda=0.01$, on all parameters, which is what `weight_decay` of `Adam` means.

# %% tags=["rtol=0.2"]
decayed, _ = train_many([(0.0, 0.0), (0.5, 0.5)], range(2), n=250,
                        epochs=3 * few_epochs // 2, every=1000, decay=0.01)
table = torch.stack([loss[-1], decayed[-1, 3].mean(dim=-1)], dim=1)
print("          no decay   decay 0.01")
for p, row in zip((0.0, 0.5), table.tolist()):
    print(f"p = {p}{row[0]:11.2f}{row[1]:13.2f}")
if measured:
    by_dropout, by_decay = table[0, 0] - table[1, 0], table[0, 0] - table[0, 1]
    assert by_dropout > 0.04 and by_decay > 0.1
    assert table[0, 0] - table[1, 1] < by_dropout + by_decay - 0.03

# %% [markdown]
# They do not add up: together they gain less than the sum of what each gains alone.
# With this decay little is left for dropout to gain after 60 epochs, in the mean of two seeds.
# A likely reason, which we have not tested, is that both keep probabilities from becoming too extreme.

# %% [markdown]
# ### Exercise 5.6-6
#
# *DropConnect* (Wan and co-authors, 2013) drops single weights instead of units.
# For one linear unit $o=\sum_jw_jx_j$ compute the mean and the variance of the output, and check them by enumeration.
# How does it differ from dropout, if one unit does not show the difference?

# %% [markdown]
# #### Solution 5.6-6

# %% [markdown]
# With independent masks on the weights the output is $\sum_j\frac{m_j}{1-p}w_jx_j$.
# Its mean is $o$ and its variance $\frac p{1-p}\sum_jw_j^2x_j^2$, the same as (5.6.4): for one unit it makes no difference whether $w_j$ or $x_j$ is zeroed.
# With several output units it does.
# Dropout zeroes an input for all of them at once, which correlates their noises; with DropConnect the weights of different units have separate masks, and their noises are independent.

# %%
p, d = 0.3, 4
g = torch.Generator().manual_seed(4)
x = torch.randn(d, generator=g, dtype=f64)
W = torch.randn(d, 2, generator=g, dtype=f64)  # two output units
P = mask_probabilities(all_masks(d), p)  # (16,)
o = (all_masks(d) / (1 - p) * W[:, 0]) @ x  # (16,), weights dropped
mean, var = P @ o, P @ o**2 - (P @ o) ** 2
exact = {"rtol": 0, "atol": 1e-10}
torch.testing.assert_close(mean, W[:, 0] @ x, **exact)
torch.testing.assert_close(var, p / (1 - p) * (W[:, 0] ** 2 @ x**2), **exact)

# %%
pairs = all_masks(2 * d).reshape(-1, d, 2)  # (256, 4, 2) for both units
both = mask_probabilities(pairs.flatten(1), p)  # (256,)


def covariance(outputs, weights):
    """Covariance of two outputs (m, 2) with probabilities (m,)."""
    centred = outputs - weights @ outputs
    return weights @ (centred[:, 0] * centred[:, 1])


connect = covariance((pairs * W / (1 - p) * x[:, None]).sum(dim=1), both)
units = covariance((all_masks(d) * x / (1 - p)) @ W, P)
torch.testing.assert_close(connect, 0 * connect, **exact)
shared = p / (1 - p) * (W[:, 0] * W[:, 1] @ x**2)
torch.testing.assert_close(units, shared, **exact)
print(f"covariance of two outputs: DropConnect {abs(connect):.3f}, "
      f"dropout {units:.3f}")

# %% [markdown]
# ### Exercise 5.6-7
#
# Many programs write `rand > p` instead of `rand >= p`, or draw the mask in the number format of `X`.
# What goes wrong for $p=0$, and for $p=0.001$ in `bfloat16`, which keeps 8 binary digits of a number?

# %% [markdown]
# #### Solution 5.6-7

# %% [markdown]
# The sample can be exactly 0, and then `rand > 0` drops an entry where nothing should be dropped.
# In single precision the samples on a CPU are multiples of $2^{-24}$, so this happens once in 17 million entries.
# Samples in `bfloat16` are coarse: exact zeros are not one in millions but one in some hundreds.
# A mask drawn in it drops these entries for $p=0$ if the comparison is wrong, and even with the right comparison it drops far too many for a small $p$.

# %%
torch.manual_seed(0)
X = torch.ones(1_000_000, dtype=torch.bfloat16)
wrong = (torch.rand_like(X) > 0).float().mean()  # kept for p = 0
coarse = (torch.rand_like(X) >= 0.001).float().mean()  # for p = 0.001
ours = (dropout_layer(X, 0.001) > 0).float().mean()
assert 1 - wrong > 0.001  # should be 0
assert 1 - coarse > 0.0015  # should be 0.001
assert abs((1 - ours) - 0.001) < 0.0002
assert dropout_layer(X, 0.5).dtype == torch.bfloat16
assert (dropout_layer(X, 0) == 1).all()
grid = torch.rand(1000) * 2**24  # whole numbers in single precision
assert (grid == grid.round()).all()

# %% [markdown]
# ## Sources
#
# - G. E. Hinton, N. Srivastava, A. Krizhevsky, I. Sutskever, R. R. Salakhutdinov (2012). Improving neural networks by preventing co-adaptation of feature detectors. [arXiv:1207.0580](https://arxiv.org/abs/1207.0580).
# - N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov (2014). Dropout: a simple way to prevent neural networks from overfitting. Journal of Machine Learning Research 15. [jmlr.org](https://jmlr.org/papers/v15/srivastava14a.html): the method, the analogy, the recommended probabilities.
# - C. M. Bishop (1995). Training with noise is equivalent to Tikhonov regularization. Neural Computation 7. [doi:10.1162/neco.1995.7.1.108](https://doi.org/10.1162/neco.1995.7.1.108).
# - S. Wager, S. Wang, P. Liang (2013). Dropout training as adaptive regularization. [arXiv:1307.1493](https://arxiv.org/abs/1307.1493): the penalty in generalized linear models.
# - P. Baldi, P. Sadowski (2013). Understanding dropout. [NeurIPS proceedings](https://papers.nips.cc/paper/2013/hash/71f6278d140af599e06ad9bf1ba03cb0-Abstract.html): geometric means.
# - L. Wan, M. Zeiler, S. Zhang, Y. LeCun, R. Fergus (2013). Regularization of neural networks using DropConnect. [PMLR 28(3)](https://proceedings.mlr.press/v28/wan13.html).
# - Y. Gal, Z. Ghahramani (2016). Dropout as a Bayesian approximation: representing model uncertainty in deep learning. [arXiv:1506.02142](https://arxiv.org/abs/1506.02142).
# - A. Chowdhery et al. (2022). PaLM: scaling language modeling with pathways. [arXiv:2204.02311](https://arxiv.org/abs/2204.02311).
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017). On calibration of modern neural networks. [arXiv:1706.04599](https://arxiv.org/abs/1706.04599).
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the experiment with two hidden layers of 256 units.
