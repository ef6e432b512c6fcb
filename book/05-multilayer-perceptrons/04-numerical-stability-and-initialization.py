# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         num_seeds: 10
#       smoke:
#         train_size: 500
#         max_epochs: 1
#         num_seeds: 2
#     rehearsal: {num_seeds: 0.3}
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
# # 5.4 Numerical stability and initialization
#
# Take a network of 20 layers and change nothing but the distribution that its initial weights and biases are drawn from.
# One choice trains, another is still guessing at the end, and neither reports an error.
# This section explains such outcomes: a deep network multiplies many matrices, and products of many factors rarely keep their size by accident.

# %% [markdown]
# **You will**
#
# - predict from the variance of the weights whether signals and gradients grow or shrink with depth, and how fast;
# - say which weights break the symmetry between hidden units, and what happens to those that do not;
# - derive the initializations of Xavier and He, and say what PyTorch does by default;
# - train deep networks with four pairs of activation and start and see which of them learn.
#
# **Cost**: about half a minute on a CPU, no GPU needed; a download of 31 MB, once.

# %%
import math
from unittest import mock

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST
from d2l_helpers.chapters.multilayer_perceptrons import Stack, train_stack

d2l.use_style()
f64 = torch.float64  # its range and precision show what float32 hides

# %% tags=["parameters"]
train_size = 4000  # images of the training experiments
max_epochs = 5
num_seeds = 3  # networks that are trained from each start

# %% [markdown]
# ## Vanishing and exploding gradients
#
# A network of $L$ layers applies one function after the other.
# With $\mathbf{h}^{(0)}=\mathbf{x}$,
#
# $$\mathbf{h}^{(l)} = f_l(\mathbf{h}^{(l-1)}),\qquad \mathbf{o} = f_L\circ\cdots\circ f_1(\mathbf{x}). \tag{5.4.1}$$
#
# Here $\mathbf{h}^{(l)}$ is the vector of the values that layer $l$ puts out, $f_l$ is that layer, with weights $\mathbf{W}^{(l)}$, and $\mathbf{o}=\mathbf{h}^{(L)}$ is the output.
# The chain rule collects one factor for each layer between the weights and the output:
#
# $$\partial_{\mathbf{W}^{(l)}}\mathbf{o} = \underbrace{\partial_{\mathbf{h}^{(L-1)}}\mathbf{h}^{(L)}}_{\mathbf{M}^{(L)}}\cdots\underbrace{\partial_{\mathbf{h}^{(l)}}\mathbf{h}^{(l+1)}}_{\mathbf{M}^{(l+1)}}\ \underbrace{\partial_{\mathbf{W}^{(l)}}\mathbf{h}^{(l)}}_{\mathbf{v}^{(l)}}. \tag{5.4.2}$$
#
# Each $\mathbf{M}^{(k)}$ is the matrix of partial derivatives of $\mathbf{h}^{(k)}$ with respect to $\mathbf{h}^{(k-1)}$, and $\mathbf{v}^{(l)}$ holds those of $\mathbf{h}^{(l)}$ with respect to the weights of its own layer.
# The gradient for $\mathbf{W}^{(l)}$ thus contains a product of $L-l$ matrices.
#
# ![A chain of circles x, h1, h2, dots, h of L minus 1, and o. Blue arrows f1 to fL lead to the right. Orange arrows lead back from o, labelled M of L down to M of 2; a green arrow v1 leads from h1 down to the box W1.](img/init-chain.svg)
#
# **Figure 5.4.1.** On its way back to $\mathbf{W}^{(1)}$ the gradient passes every layer, and each multiplies it by a matrix.

# %% [markdown]
# A product of 50 numbers is $1.4\cdot10^{-5}$ if each is 0.8, and 9100 if each is 1.2.
# Matrices behave similarly, except that their product may stretch one direction and crush another.
# A gradient that is too large, an *exploding gradient*, makes a step that destroys what the model has learned, or it overflows to `inf`.
# A gradient that is too small, a *vanishing gradient*, moves nothing: the layer keeps its random weights.
#
# Adding logarithms, the cure for products of many probabilities, does not help: the entries of a product of matrices are sums of terms with both signs, and the update needs the gradient itself.

# %% [markdown]
# ### Vanishing gradients
#
# Let the layer be $\mathbf{h}^{(l)}=\phi(\mathbf{z}^{(l)})$ with $\mathbf{z}^{(l)}=\mathbf{W}^{(l)}\mathbf{h}^{(l-1)}+\mathbf{b}^{(l)}$ and an activation $\phi$ that acts on each entry.
# Then
#
# $$\mathbf{M}^{(l)} = \operatorname{diag}\left(\phi'(\mathbf{z}^{(l)})\right)\mathbf{W}^{(l)}. \tag{5.4.3}$$
#
# The diagonal matrix holds the slopes of the activation at the $n$ units of the layer, and $\mathbf{W}^{(l)}\in\mathbb{R}^{n\times n}$ if all layers have the same width.
# For a long time a usual activation was the sigmoid, whose slope is $\sigma'(z)=\sigma(z)(1-\sigma(z))$.

# %%
z = torch.linspace(-8, 8, 161, requires_grad=True)
s = torch.sigmoid(z)
slope, = torch.autograd.grad(s.sum(), z)  # (161,)
ax = d2l.plot(z, [s, slope], ["sigmoid", "its slope"], xlabel="z")
ax.axhline(0.25, color="#888888", lw=0.8)
ax.text(-7.9, 0.27, "1/4", color="#555555")
d2l.describe(ax, """The sigmoid rises from 0 to 1. Its slope is a bump of
    height one quarter at 0 and practically 0 beyond plus or minus 6.""")

# %% [markdown]
# **Figure 5.4.2.** The sigmoid is flat at both ends, and even at its steepest point it passes on only a quarter of the gradient.

# %% [markdown]
# Ten sigmoids in a row multiply the gradient by at most $0.25^{10}\approx9.5\cdot10^{-7}$, apart from what the weights do.
#
# We send a batch through a list of linear layers with an activation between them, compute the cross-entropy for random labels, and take the norm of the gradient of each weight matrix.

# %%
def forward(layers, act, X):
    """Output of linear layers with `act` between them, (m, outputs)."""
    for layer in layers[:-1]:
        X = act(layer(X))
    return layers[-1](X)


def gradient_norms(layers, act, seed=0):
    """Norms (len(layers),) of the weight gradients, for random data."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(64, layers[0].in_features, generator=generator,
                    dtype=f64)
    y = torch.randint(layers[-1].out_features, (64,), generator=generator)
    for layer in layers:
        layer.zero_grad()
    F.cross_entropy(forward(layers, act, X), y).backward()
    return torch.stack([torch.linalg.vector_norm(layer.weight.grad)
                        for layer in layers])

# %% [markdown]
# Twenty hidden layers of 64 sigmoids, ten outputs, and the weights that `nn.Linear` starts with:

# %%
depth, width = 20, 64
sizes = [width] * (depth + 1) + [10]
norms = []
for seed in range(num_seeds):
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b, dtype=f64) for a, b in zip(sizes, sizes[1:])]
    norms.append(gradient_norms(layers, torch.sigmoid, seed))
norms = torch.stack(norms)  # (seeds, 21)

# %%
# check 5.4-C1: a quarter ten times, and twenty sigmoid layers
ten = z
for _ in range(10):  # ten sigmoids in a row, weights 1
    ten = torch.sigmoid(ten)
through, = torch.autograd.grad(ten.sum(), z)  # (161,)
assert 1e-7 < through.max() <= 0.25**10 < 1e-6 and slope.max() <= 0.25
assert (norms[:, 0] < 1e-10 * norms[:, -1]).all()
rate = (norms[:, 0] / norms[:, -2]) ** (1 / (depth - 1))  # per layer
assert (rate - 0.25 / 3**0.5).abs().max() < 0.01
again = gradient_norms(layers, torch.sigmoid, seed)  # a second call
torch.testing.assert_close(again, norms[-1])
worst = (norms[:, 0] / norms[:, -1]).max().log10().ceil().item()
print(f"first layer / last layer: below 10^{worst:.0f}")

# %% [markdown]
# The rate can be predicted.
# The default weights have variance $\frac1{3n}$, as the part on initialization will show, so multiplication by $\mathbf{W}^\top$ changes the length of a gradient by about $\sqrt{n\cdot\frac1{3n}}=0.577$; together with the slope $\frac14$ that makes 0.144 for each layer.

# %% tags=["hide-input"]
_, ax = plt.subplots()
index = torch.arange(1, depth + 2)
for i, row in enumerate(norms):
    ax.plot(index, row, color="C0", lw=0.8,
            label="measured, one line per seed" if i == 0 else None)
predicted = norms[:, -2].mean() * (0.25 / 3**0.5) ** (depth - index[:-1])
ax.plot(index[:-1], predicted, "k--", lw=1.2, label="0.144 per layer")
ax.set(xlabel="layer", ylabel="norm of the gradient", yscale="log",
       xticks=range(1, 22, 4))
ax.legend()
d2l.describe(ax, """Norm of the weight gradient by layer on a logarithmic
    axis: for all seeds it falls along a straight line from about 1 at the
    last layer to about 1e-17 at the first, close to the prediction.""")

# %% [markdown]
# **Figure 5.4.3.** Twenty layers of sigmoids: for each of the seeds, going back one layer costs a factor of about seven.

# %% [markdown]
# Large weights push $z$ to the flat ends, but they also multiply the gradient by more.
# With normal weights of a large standard deviation $g/\sqrt n$, a share of the units proportional to $\frac1g$ is still on the slope, while the squared weights grow as $g^2$.
# Going back one layer multiplies the squared length of the gradient, in wide layers, by about $\frac{g}{6\sqrt\pi}$, which is 1 at $g\approx10.6$.
# With $g=32$ it explodes, in spite of the sigmoid:

# %%
gain_rates = []  # factor per layer, going back
torch.manual_seed(0)
for gain in (1, 12, 32):
    for layer in layers:
        nn.init.normal_(layer.weight, std=gain / width**0.5)
    norm = gradient_norms(layers, torch.sigmoid)  # (21,)
    gain_rates.append((norm[0] / norm[-2]).item() ** (1 / (depth - 1)))
print("per layer:", " ".join(f"{rate:.1f}" for rate in gain_rates))
assert gain_rates[0] < 0.3 and 0.8 < gain_rates[1] < 1.2 < gain_rates[2]

# %% [markdown]
# The rectifier $\operatorname{ReLU}(z)=\max(z,0)$ has slope 1 for positive and 0 for negative inputs, so the factor $\frac14$ is gone.
# ReLU is often said to *avoid* vanishing gradients; it mitigates them.
# The weights still scale signal and gradient, and Figure 5.4.8 shows ReLU networks with vanishing gradients.
# And there is a failure that the sigmoid does not have: a unit whose input is negative for every example puts out 0 and gets the gradient 0.
# It is a *dead unit*, and its own weights no longer learn (Exercise 5.4-8 counts them after training, and revives some).

# %%
torch.manual_seed(0)
unit = nn.Linear(4, 1)
with torch.no_grad():
    unit.bias.fill_(-10.0)  # below anything the weighted sum can reach
h = torch.relu(unit(torch.randn(1000, 4)))  # (1000, 1)
(h - 1).square().mean().backward()  # the unit should put out 1
print("largest output:", h.max().item(),
      "  gradient:", unit.weight.grad.abs().max().item())
assert unit.weight.grad.count_nonzero() == 0 and unit.bias.grad == 0

# %% [markdown]
# ### Exploding gradients
#
# The opposite failure needs no more than a random start: we draw 101 matrices of shape $4\times4$ with standard normal entries and multiply them.

# %%
generator = torch.Generator().manual_seed(3)
M = torch.randn(4, 4, generator=generator, dtype=f64)
for _ in range(100):
    M = torch.randn(4, 4, generator=generator, dtype=f64) @ M
ratio = M / M[0]  # each row divided by the first
print(f"largest entry: {M.abs().max().item():.1e}")
for row in ratio.tolist():
    print("row / first row:", " ".join(f"{value:8.5f}" for value in row))
assert (ratio.std(dim=1) < 1e-6 * ratio.mean(dim=1).abs()).all()

# %% [markdown]
# The entries have become astronomically large, and all rows are, up to relative errors of about $10^{-6}$, multiples of one another.
#
# How fast does such a product grow?
# Apply the matrices one after the other to a vector: each multiplies its length by a random factor, so the *logarithm* of the length is a random walk with a drift.
# We multiply out 300 such products and look at their two largest singular values, the factors by which they stretch their two most stretched directions.

# %%
def product_growth(n, k, sigma=1.0, runs=300, seed=0):
    """Singular values (runs, n) of products of k Gaussian n x n matrices."""
    generator = torch.Generator().manual_seed(seed)
    P = torch.eye(n, dtype=f64).expand(runs, n, n)
    for _ in range(k):
        P = sigma * torch.randn(runs, n, n, generator=generator,
                                dtype=f64) @ P
    return torch.linalg.svdvals(P)


singular = product_growth(4, 101)  # (300, 4)
top = singular[:, 0].log10()
gap = (singular[:, 1] / singular[:, 0]).log10()
print(f"log10 of the largest: {top.mean():.1f} +- {top.std():.1f}; "
      f"second / largest: {gap.mean():.1f}")

# %%
# check 5.4-C2: size, spread and rank of the product of 101 matrices
assert ((18 < top[:20]) & (top[:20] < 31)).all()
assert abs(top.mean() - 24.96) < 0.4 and abs(top.std() - 1.84) < 0.3
assert abs(gap.mean() + 8.7) < 0.4

# %% [markdown]
# A typical product has grown to about $10^{25}$, and its second direction is smaller by a factor of about $5\cdot10^8$.
# The rates behind these numbers can be computed exactly; Exercise 5.4-7 does it.

# %% [markdown]
# In general the eigenvalues of the single factors do not decide; for powers of one matrix they do.
# Here are two factors whose eigenvalues are all 0, while $(\mathbf{A}\mathbf{B})^k$ grows without bound:

# %%
A = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
B = A.mT
print("eigenvalues of A:", torch.linalg.eigvals(A).abs().tolist(),
      "  of AB:", torch.linalg.eigvals(A @ B).abs().tolist())
assert torch.linalg.eigvals(A).abs().max() == 0
assert torch.linalg.matrix_power(A @ B, 50)[0, 0] == 4.0**50

# %% [markdown]
# In single precision the largest number is $3.4\cdot10^{38}$.
# From the average growth over 101 factors we estimate the factor at which a product exceeds it (the exact rate of Exercise 5.4-7 gives 159).

# %%
def overflow_step(seed):
    """Number of float32 factors until the product is not finite."""
    generator = torch.Generator().manual_seed(seed)
    M, k = torch.eye(4), 0
    while M.isfinite().all():
        M, k = torch.randn(4, 4, generator=generator) @ M, k + 1
    return k


rate = top.mean().item() / 101  # powers of ten per factor
expected = math.log10(torch.finfo(torch.float32).max) / rate
steps = torch.tensor([overflow_step(seed) for seed in range(20)]).double()
print(f"overflow at factor {steps.mean():.0f} +- {steps.std():.0f}, "
      f"expected near {expected:.0f}")
assert abs(steps.mean() - expected) < 12  # standard error below 4

# %% [markdown]
# The obvious cure is to scale the entries until nothing grows on average: variance $\frac1n$ makes the mean of $\|\mathbf{A}\mathbf{u}\|^2$ equal to $\|\mathbf{u}\|^2$.
# For small $n$ this is not enough: with the right *mean square* the *logarithm* still drifts down, by about $\frac1{2n}$ per factor (Exercise 5.4-6).

# %%
first = product_growth(4, 100, sigma=0.5, seed=1)[:, 0].log10()  # (300,)
u = torch.ones(10, 256, 1) / 16  # ten vectors of length 1
generator = torch.Generator().manual_seed(2)
for _ in range(100):
    A = torch.randn(10, 256, 256, generator=generator) / 16
    u = A @ u  # (10, 256, 1)
wide = torch.linalg.vector_norm(u, dim=(1, 2)).log10()  # (10,)
print(f"width   4: {first.mean():.1f} +- {first.std():.1f}")
print(f"width 256: {wide.mean():.2f} +- {wide.std():.2f}")

# %%
# check 5.4-C3: right in the mean square, and yet it shrinks if narrow
predicted_end = 100 * (rate + math.log10(0.5))
assert abs(first.mean() - predicted_end) < 0.4  # from other matrices
assert -7 < first.mean() < -4.5
assert abs(wide.mean()) < 0.25 and 0.05 < wide.std() < 0.4

# %% [markdown]
# With Gaussian matrices stability needs width as well: 100 wide factors have kept the length of a vector up to a factor of about two, while for the narrow ones even the largest singular value of the product has lost several powers of ten.
#
# Initialization, the second part of this section, takes care of the start; normalization layers and residual connections (Chapter 8) change the network.
# And during training one can refuse steps that are too long: *gradient clipping* replaces the gradient by
#
# $$\mathbf{g}\leftarrow\min\left(1,\frac\theta{\|\mathbf{g}\|}\right)\mathbf{g}. \tag{5.4.4}$$
#
# Here $\mathbf{g}$ is the gradient of *all* parameters, written as one long vector, and $\theta>0$ is the largest norm allowed.
# For $\mathbf{g}=(3,4,12)$ the norm is 13, so $\theta=1$ divides it by 13.
# In PyTorch, `clip_grad_norm_` is called between `backward` and `step`, and it returns the norm *before* clipping.

# %%
# check 5.4-C10: norm 13 is reported, then cut to 1, direction kept
weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
weights[0].grad = torch.tensor([3.0, 4.0])
weights[1].grad = torch.tensor([12.0])
before = nn.utils.clip_grad_norm_(weights, max_norm=1.0)
g = torch.cat([w.grad for w in weights])  # (3,)
torch.testing.assert_close(before, torch.tensor(13.0))
torch.testing.assert_close(g, torch.tensor([3.0, 4, 12]) / 13)
torch.testing.assert_close(torch.linalg.vector_norm(g), torch.tensor(1.0))
again = nn.utils.clip_grad_norm_(weights, max_norm=5.0)  # short enough
torch.testing.assert_close(torch.cat([w.grad for w in weights]), g)

# %% [markdown]
# Clipping does nothing for gradients that vanish, and it does not tell a layer with a large gradient from one with a small one.
# It is standard in recurrent networks (Section 9.5) and in large language models.

# %% [markdown]
# ### Breaking the symmetry
#
# A hidden layer does not know the order of its units.
# Number them anew, that is, permute the rows of $\mathbf{W}^{(1)}$ and $\mathbf{b}^{(1)}$ and in the same way the columns of $\mathbf{W}^{(2)}$: the network computes the same function.
# A layer of $h$ units has $h!$ such settings, 720 for $h=6$.
#
# That becomes a trap if the start is symmetric: if all hidden units have the same weights *and bias* from the inputs *and* the same weights to the outputs, for example if all weights equal the same number $c$ and all biases 0.
# Then all hidden units compute the same value and receive the same gradient, so both kinds of weights are still equal after the step.
# By induction they stay equal, and the layer of $h$ units is worth one.
#
# It is often said that equal incoming weights suffice for the trap, but the gradient of unit $j$ is $\sum_kW^{(2)}_{kj}\frac{\partial J}{\partial o_k}$ times its slope, with the objective $J$, so units with equal incoming but different outgoing weights in general receive different gradients and separate in the first step.
#
# We test both with 8 inputs, 6 hidden units and 3 classes.

# %%
def toy_data(seed=0):
    """200 examples X (200, 8) with labels (200,) in three classes."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(200, 8, generator=generator)
    scores = torch.stack((X[:, 0] + X[:, 1], 2 * X[:, 2], -X[:, 3]), dim=1)
    return X, scores.argmax(dim=1)


def constant_init_experiment(c, dropout=0.0, act=torch.relu, steps=50,
                             seed=0, outgoing=None):
    """W1, b1, W2, b2 after minibatch SGD from all weights equal to c.

    `outgoing` (3, 6) replaces the equal weights W2 to the outputs.
    """
    X, y = toy_data(seed)
    W2 = torch.full((3, 6), float(c)) if outgoing is None else outgoing
    params = [torch.full((6, 8), float(c)), torch.zeros(6),
              W2.clone(), torch.zeros(3)]
    W1, b1, W2, b2 = [p.requires_grad_() for p in params]
    optimizer = torch.optim.SGD(params, lr=0.1)
    torch.manual_seed(seed)
    for _ in range(steps):
        i = torch.randint(len(X), (20,))  # a minibatch
        H = F.dropout(act(F.linear(X[i], W1, b1)), dropout)  # (20, 6)
        optimizer.zero_grad()
        F.cross_entropy(F.linear(H, W2, b2), y[i]).backward()
        optimizer.step()
    return [p.detach() for p in params]

# %% [markdown]
# *Dropout* ([Section 5.6](06-dropout.ipynb)) sets a random part of the hidden units to zero in each step; here it is a source of randomness that treats units differently.

# %% tags=["hide-input"]
spread_out = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
panels = {"start": torch.full((6, 8), 0.5),
          "all weights equal": constant_init_experiment(0.5)[0],
          "random $W^{(2)}$": constant_init_experiment(
              0.5, outgoing=spread_out)[0],
          "equal, dropout": constant_init_experiment(0.5, dropout=0.5)[0]}
_, axes = plt.subplots(1, 4, figsize=(7.6, 2.4), sharey=True)
for ax, (title, W) in zip(axes, panels.items()):
    image = ax.imshow(W, vmin=0.35, vmax=0.65, cmap="PuOr")
    ax.grid(False)
    ax.set(title=title, xlabel="input", xticks=range(0, 8, 2))
axes[0].set_ylabel("hidden unit")
plt.colorbar(image, ax=axes, shrink=0.8, label="weight")
d2l.describe(axes, """First-layer weights as 6 by 8 images. At the start
    all are equal. After 50 steps from equal weights in both layers the
    columns differ, but within a column all six units have the same colour.
    With random outgoing weights, or with dropout, the six rows differ.""")

# %% [markdown]
# **Figure 5.4.4.** Weights $\mathbf{W}^{(1)}$, one row for each hidden unit, at the start and after 50 steps; colours end at 0.35 and 0.65.
# From equal weights in both layers, training tells the inputs apart but not the units; with random outgoing weights, or with dropout, it tells the units apart too.

# %%
# check 5.4-C4: equal units stay equal; zero weights stay zero
def rank(W):
    return torch.linalg.matrix_rank(W, tol=1e-4).item()


for seed in range(3):
    for act in (torch.relu, torch.tanh):
        W1 = constant_init_experiment(0.5, act=act, seed=seed)[0]
        torch.testing.assert_close(W1, W1[:1].expand(6, 8), rtol=0,
                                   atol=1e-6)
        assert rank(W1) == 1 and (W1 - 0.5).abs().max() > 0.01
        W1 = constant_init_experiment(0.5, act=act, seed=seed,
                                      outgoing=spread_out)[0]
        assert rank(W1) == 6  # only the incoming weights were equal
        W1 = constant_init_experiment(0.5, 0.5, act, seed=seed)[0]
        assert rank(W1) > 1
        for dropout in (0.0, 0.5):
            W1, b1, W2, b2 = constant_init_experiment(0, dropout, act,
                                                      seed=seed)
            assert W1.count_nonzero() == W2.count_nonzero() == 0
            assert b1.count_nonzero() == 0 and b2.abs().max() > 0.01
with mock.patch("torch.randint", lambda n, size: torch.arange(n)):
    full_batch = constant_init_experiment(0.5)[0]
assert not torch.allclose(constant_init_experiment(0.5)[0], full_batch)

# %% [markdown]
# Noise in the choice of minibatches does not break the symmetry, because all units see the same minibatch.
# Random weights in either layer do if those of the other are $c\ne0$, and so does dropout if $c\ne0$.
#
# The case $c=0$ is worse.
# With ReLU or tanh the hidden values are $\phi(0)=0$, so the gradient of $\mathbf{W}^{(2)}$, which contains them as a factor, is 0.
# The gradient of $\mathbf{W}^{(1)}$ contains $\mathbf{W}^{(2)}=\mathbf{0}$ as a factor, so it is 0 as well.
# No weight moves in any step, with dropout or without; only the output bias learns, at best the class frequencies.
# A sigmoid puts out $\frac12$ at 0, so there the weights do move, all units alike:

# %%
W1, b1, W2, b2 = constant_init_experiment(0, act=torch.sigmoid)
print(f"sigmoid from zero: largest weight {W1.abs().max().item():.3f}, "
      f"rank {torch.linalg.matrix_rank(W1, rtol=1e-4).item()}")
assert W1.abs().max() > 1e-3  # they move, all units alike
torch.testing.assert_close(W1, W1[:1].expand(6, 8), rtol=0, atol=1e-6)

# %% [markdown]
# ## Initialization
#
# ### The default of the framework
#
# So the units have to start differently.
# Random numbers are the usual way, though not the only one (Zhao, Schäfer and Anandkumar, 2022), and their scale matters.
# For a layer with $n_{\mathrm{in}}$ inputs, `nn.Linear` draws weights *and* biases from the uniform distribution
#
# $$U\left(-\frac1{\sqrt{n_{\mathrm{in}}}},\ \frac1{\sqrt{n_{\mathrm{in}}}}\right),\qquad \sigma^2 = \frac1{3n_{\mathrm{in}}}. \tag{5.4.5}$$
#
# The variance $\sigma^2$ follows from the rule that $U(-a,a)$ has variance $\frac{a^2}3$.
# So it is neither normal nor He initialization, two claims that are easy to find.
# The source code does call `kaiming_uniform_`, but with `a=math.sqrt(5)`, which gives a sixth of the variance of He's own rule for ReLU.

# %%
# check 5.4-C5: the default is uniform with variance 1 / (3 n_in)
torch.manual_seed(0)
default = nn.Linear(400, 300)
assert default.weight.abs().max() <= 0.05 == 1 / math.sqrt(400)
assert default.bias.abs().max() <= 0.05 and default.bias.std() > 0.02
assert abs(default.weight.var().item() / 0.000833 - 1) < 0.02
fourth = (default.weight / default.weight.std()).pow(4).mean().item()
print(f"fourth moment {fourth:.2f}: uniform 1.8, normal 3")
assert abs(fourth - 1.8) < 0.05

# %% [markdown]
# ### Xavier initialization
#
# Which variance should it be?
# Consider one fully connected layer without a nonlinearity,
#
# $$o_i = \sum_{j=1}^{n_{\mathrm{in}}}w_{ij}x_j. \tag{5.4.6}$$
#
# Here $x_j$ are the $n_{\mathrm{in}}$ inputs and $o_i$ is one of the $n_{\mathrm{out}}$ outputs.
# Suppose that the weights $w_{ij}$ are drawn independently, with mean 0 and variance $\sigma^2$, and that the inputs have mean 0 and variance $\gamma^2$ and are independent of the weights and of each other.
# Then $E[o_i]=\sum_jE[w_{ij}]E[x_j]=0$, and
#
# $$\operatorname{Var}[o_i] = E[o_i^2]-E[o_i]^2 = \sum_{j=1}^{n_{\mathrm{in}}}E[w_{ij}^2]\,E[x_j^2] = n_{\mathrm{in}}\,\sigma^2\gamma^2. \tag{5.4.7}$$
#
# The square of the sum has cross terms $E[w_{ij}w_{ik}x_jx_k]$ with $j\ne k$ too.
# They vanish: $w_{ij}$ and $w_{ik}$ are independent of each other and of the inputs, so the term contains the factor $E[w_{ij}]E[w_{ik}]=0$.
# Of the inputs we needed only that they are independent of the weights.
# The inputs may depend on one another, and with $E[x_j^2]$ in place of $\gamma^2$ they need not even have mean 0.
#
# The layer keeps the variance of the signal if $n_{\mathrm{in}}\sigma^2=1$.
# Backwards, the gradient for $x_j$ is a sum over the outputs, $\sum_iw_{ij}\frac{\partial J}{\partial o_i}$ with the objective $J$, and the same computation, which treats these gradients as independent of the weights, asks for $n_{\mathrm{out}}\sigma^2=1$.
#
# ![Left: four inputs x1 to xn with blue arrows to one output oi. Right: three outputs o1 to om with orange arrows back to one input xj.](img/init-fans.svg)
#
# **Figure 5.4.5.** The forward sum has as many terms as the layer has inputs, the backward sum as many as it has outputs.

# %% [markdown]
# Both cannot hold unless $n_{\mathrm{in}}=n_{\mathrm{out}}$.
# Glorot and Bengio proposed the compromise
#
# $$\frac12\left(n_{\mathrm{in}}+n_{\mathrm{out}}\right)\sigma^2 = 1,\qquad \sigma = \sqrt{\frac2{n_{\mathrm{in}}+n_{\mathrm{out}}}}, \tag{5.4.8}$$
#
# named *Xavier* initialization after the first name of the first author.
# The distribution is either normal, $\mathcal{N}\left(0,\frac2{n_{\mathrm{in}}+n_{\mathrm{out}}}\right)$, or uniform; for $U(-a,a)$ we need $\frac{a^2}3=\sigma^2$, hence $a=\sqrt{\frac6{n_{\mathrm{in}}+n_{\mathrm{out}}}}$.
# For a layer from 500 inputs to 300 outputs the forward factor is $500\cdot\frac2{800}=1.25$ and the backward factor 0.75.

# %% [markdown]
# ### He initialization
#
# Xavier's derivation has no activation in it.
# A tanh is almost the identity near 0, but a ReLU removes half of the signal.
# If $z$ has a symmetric distribution, then $\operatorname{ReLU}(z)^2$ equals $z^2$ for one half of the cases and 0 for the other, so
#
# $$E\left[\operatorname{ReLU}(z)^2\right] = \tfrac12E[z^2] = \tfrac12\operatorname{Var}[z]. \tag{5.4.9}$$
#
# Here $z$ is the input of the activation, a number.
# It is symmetric, because $-\mathbf{W}$ is as likely as $\mathbf{W}$.
# Now take layer $l$ of a network with zero biases and $n_{\mathrm{in}}$ inputs.
# The inputs are outputs of a ReLU, with a mean that is not 0, but (5.4.7) needs only their second moment:
#
# $$E\left[(h^{(l)})^2\right] = \tfrac12\,n_{\mathrm{in}}\,\sigma^2\,E\left[(h^{(l-1)})^2\right]. \tag{5.4.10}$$
#
# Here $h^{(l)}$ is one entry of the output of layer $l$.
# The second moment stays if $\sigma^2=\frac2{n_{\mathrm{in}}}$: this is *He* or *Kaiming* initialization.
# With Xavier's variance and equal widths each layer halves it instead: a factor $2^{-25}$ in the root mean square after 50 layers.
#
# In general one writes $\sigma=g/\sqrt{n_{\mathrm{in}}}$ with a *gain* $g$ that depends on the activation: 1 for none, $\sqrt2$ for ReLU.
# `nn.init.calculate_gain` knows them, with $\frac53$ for tanh as a rule of thumb.

# %% [markdown]
# One function initializes a layer by the name of a scheme; a number means a normal distribution with that standard deviation, and "orthogonal" a matrix whose singular values are all 1.

# %% tags=["export"]
def init_linear(layer, scheme, generator=None):
    """Initialize an nn.Linear in place and return it.

    `scheme` is "default", "xavier" (uniform), "he" (normal),
    "orthogonal", or a number: the standard deviation of normal weights.
    Biases are 0, except for "default".
    """
    W, b = layer.weight, layer.bias  # (n_out, n_in), (n_out,) or None
    n_out, n_in = W.shape
    with torch.no_grad():
        if b is not None:
            b.zero_()
        if scheme == "default":
            bound = n_in**-0.5
            W.uniform_(-bound, bound, generator=generator)
            if b is not None:
                b.uniform_(-bound, bound, generator=generator)
        elif scheme == "xavier":
            a = math.sqrt(6 / (n_in + n_out))
            W.uniform_(-a, a, generator=generator)
        elif scheme == "he":
            W.normal_(0, math.sqrt(2 / n_in), generator=generator)
        elif scheme == "orthogonal":
            nn.init.orthogonal_(W, generator=generator)
        elif isinstance(scheme, (int, float)):
            W.normal_(0, scheme, generator=generator)
        else:
            raise ValueError(f"unknown scheme {scheme!r}; use 'default', "
                             "'xavier', 'he', 'orthogonal' or a number.")
    return layer

# %% [markdown]
# PyTorch has the same rules in `torch.nn.init`.
# With equal generators the numbers are equal too:

# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


layer, other = nn.Linear(400, 300), nn.Linear(400, 300)
init_linear(layer, "xavier", seeded())
nn.init.xavier_uniform_(other.weight, generator=seeded())
torch.testing.assert_close(layer.weight, other.weight)
init_linear(layer, "he", seeded())
nn.init.kaiming_normal_(other.weight, nonlinearity="relu",
                        generator=seeded())
torch.testing.assert_close(layer.weight, other.weight)
init_linear(layer, "default", seeded())
torch.testing.assert_close(layer.weight, default.weight)  # seed 0 above
torch.testing.assert_close(layer.bias, default.bias)
assert init_linear(layer, 0.5, seeded()) is layer  # in place
assert abs(layer.weight.std() - 0.5) < 0.01 and not layer.bias.any()
assert init_linear(nn.Linear(4, 3, bias=False), "he").bias is None
for scheme in ("default", "xavier", "he", "orthogonal", 0.5):
    one, two = (init_linear(nn.Linear(4, 3), scheme, seeded(7))
                for _ in range(2))  # the generator decides everything
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.bias, two.bias)
try:
    init_linear(layer, "He")
except ValueError as error:
    assert "unknown scheme 'He'" in str(error)
else:
    raise AssertionError("an unknown scheme was accepted")

# %%
# check 5.4-C6: bound and variances; forward 1.25, backward 0.75
W = init_linear(layer, "xavier", seeded()).weight.detach()  # (300, 400)
assert 0.0925 < W.abs().max() <= math.sqrt(6 / 700) < 0.0926
assert abs(W.var() / (2 / 700) - 1) < 0.03
W = init_linear(layer, "he", seeded()).weight.detach()
assert abs(W.var() / (2 / 400) - 1) < 0.03
W = init_linear(nn.Linear(500, 300), "xavier", seeded()).weight.detach()
x = torch.randn(2000, 500, generator=seeded(1))
g = torch.randn(2000, 300, generator=seeded(2))  # gradient of the output
assert abs((x @ W.mT).var() - 1.25) < 0.04
assert abs((g @ W).var() - 0.75) < 0.03
for name in ("relu", "tanh", "linear"):
    print(f"gain of {name}: {nn.init.calculate_gain(name):.3f}")

# %% [markdown]
# ### Signals through fifty layers
#
# We now send 100 random inputs through 50 layers of width 256 and note two numbers after each: the root mean square of the activations, the *size* of the signal, and their standard deviation *across inputs*, its *spread*.
# A large signal that is the same for all inputs carries no information, so the first number alone can deceive.

# %% tags=["export"]
def signal_stats(act, scheme, depth=50, width=256, batch=100, seed=0,
                 dtype=torch.float64):
    """Size and spread of activations behind each layer, both (depth,).

    `size` is the root mean square over units and normal random inputs;
    `spread` is the standard deviation across inputs, root mean square
    over units. `scheme` is that of `init_linear`.
    """
    generator = torch.Generator().manual_seed(seed)
    H = torch.randn(batch, width, generator=generator, dtype=dtype)
    layer = nn.Linear(width, width, dtype=dtype)
    size, spread = [], []
    with torch.no_grad():
        for _ in range(depth):
            H = act(init_linear(layer, scheme, generator)(H))
            size.append(H.square().mean().sqrt())
            spread.append(H.var(dim=0).mean().sqrt())
    return torch.stack(size), torch.stack(spread)

# %% [markdown]
# Each curve is measured for several seeds; we draw the range from the smallest to the largest with the median as a line.

# %%
def signal_runs(act, scheme, **options):
    """Sizes and spreads for all seeds, (2, num_seeds, depth)."""
    runs = [signal_stats(act, scheme, seed=seed, **options)
            for seed in range(num_seeds)]
    return torch.stack([torch.stack(pair) for pair in runs], dim=1)


def band(ax, x, runs, label, color, ls="-"):
    """Range over seeds as a band and the median as a line; runs (s, n)."""
    low, high = runs.min(dim=0).values, runs.max(dim=0).values
    ax.fill_between(x, low, high, color=color, alpha=0.3, lw=0)
    ax.plot(x, runs.median(dim=0).values, color=color, ls=ls, lw=1.5,
            label=label)


signals = {
    "ReLU, He": signal_runs(torch.relu, "he"),
    "tanh, Xavier": signal_runs(torch.tanh, "xavier"),
    "ReLU, default": signal_runs(torch.relu, "default"),
    "ReLU, Xavier": signal_runs(torch.relu, "xavier"),
    "ReLU, std 0.01": signal_runs(torch.relu, 0.01)}

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
index = torch.arange(1, 51)
for k, (label, (size, spread)) in enumerate(signals.items()):
    ls = ("-", "--", "-.", ":", (0, (1, 3)))[k]
    band(axes[0], index, size, label, f"C{k}", ls)
    band(axes[1], index, spread, label, f"C{k}", ls)
axes[0].set(yscale="log", ylim=(1e-19, 10), xlabel="layer",
            title="size (root mean square)")
axes[1].set(xlabel="layer", title="spread across inputs")
axes[0].legend(fontsize=8, loc="lower right")
d2l.describe(axes, """Size and spread of activations over 50 layers on a
    logarithmic axis for five starts. ReLU with He and tanh with Xavier
    stay between 0.08 and 2 in both. ReLU with Xavier falls to 1e-8 in both.
    ReLU with the default keeps its size near 0.03, but its spread falls
    to 1e-17. Standard deviation 0.01 falls fastest in both.""")

# %% [markdown]
# **Figure 5.4.6.** Five starts, medians and ranges over seeds.
# With ReLU the default holds the size of the activations near 0.03 from layer 5 on and loses the difference between inputs, down to the rounding errors of `float64`.

# %%
# check 5.4-C7: sizes after 50 layers as predicted, for every seed
size = {label: runs[0, :, -1] for label, runs in signals.items()}
assert ((0.3 < size["ReLU, He"]) & (size["ReLU, He"] < 3)).all()
off = size["ReLU, Xavier"] / 2.0**-25
assert ((1 / 3 < off) & (off < 3)).all()
off = size["ReLU, default"] / math.sqrt(0.2 / 256)
assert ((0.7 < off) & (off < 1.4)).all()
linear = signal_runs(nn.Identity(), "xavier")[0, :, -1]
assert ((0.5 < linear) & (linear < 2)).all()
assert (signal_runs(nn.Identity(), "he")[0, :, -1] > 1e6).all()
single, _ = signal_stats(torch.relu, 0.01, dtype=torch.float32)
assert single[-1] == 0 and single[0] > 0  # below the smallest float32
for label, values in size.items():
    print(f"{label:15s} 10^{values.median().log10().item():.1f}")
assert len(size["ReLU, He"].unique()) == num_seeds  # each seed its own

# %% [markdown]
# The default deserves a closer look.
# With $\sigma^2=\frac1{3n}$ and biases of variance $\frac1{3n}$, (5.4.10) becomes
#
# $$E\left[(h^{(l)})^2\right] = \tfrac16\,E\left[(h^{(l-1)})^2\right]+\frac1{6n}, \tag{5.4.11}$$
#
# with $n$ the width.
# The first term is what comes from the layer below: five sixths of its square are lost in every layer.
# The second comes from the layer's own biases, which are the same for all inputs.
# The sum tends to the fixed point $\frac{0.2}n$, a root mean square of 0.028 for $n=256$.
# So the activations do not vanish.
# What vanishes is their dependence on the input: differences between two inputs are multiplied by about $\sqrt{1/6}=0.408$ in each layer, and behind 20 layers all inputs look alike.
# As a control we draw normal weights of the same variance and leave the biases at 0: then the size falls too, at nearly the rate of the spread.

# %%
# check 5.4-C8: the spread shrinks by sqrt(1/6) per layer, default + ReLU
spread = signals["ReLU, default"][1]  # (seeds, 50)
rate = (spread[:, 19] / spread[:, 9]) ** 0.1  # per layer, 10 to 20
print(f"per layer: {rate.mean().item():.3f}, expected {6**-0.5:.3f}")
assert (rate - 6**-0.5).abs().max() < 0.02
assert (spread[:, 19] < 1e-6 * signals["ReLU, default"][0, :, 19]).all()
bare = signal_runs(torch.relu, (3 * 256) ** -0.5)  # biases 0
size_rate, rate = ((bare[..., 19] / bare[..., 9]) ** 0.1).mean(dim=1)
print(f"biases 0: size {size_rate:.3f} per layer, spread {rate:.3f}")
assert abs(size_rate - 6**-0.5) < 0.01 and abs(rate - 6**-0.5) < 0.02
he_size, he_spread = signals["ReLU, He"]  # (seeds, 50) each
share = he_spread / he_size
assert share[:, 0].min() > 0.78 and share[:, -1].max() < 0.3

# %% [markdown]
# He initialization keeps the size, but spread divided by size falls from 0.8 to below 0.3: it keeps the second moment, while the angles between inputs shrink.
# The tanh curve falls slowly because tanh shrinks what is not small; with a gain above 1 the size settles at a positive value (choose tanh in Figure 5.4.7).

# %% tags=["hide-input"]
acts = {"linear": nn.Identity(), "ReLU": torch.relu, "tanh": torch.tanh}
gains = [0.5, 0.8, 1, 1.414, 1.6, 2, 3]
layers_50 = torch.arange(1, 51, dtype=f64)


def draw(fig, gain, activation):
    ax = fig.subplots()
    for seed in range(3):
        size, _ = signal_stats(acts[activation], gain / 128**0.5,
                               width=128, batch=32, seed=seed)
        ax.plot(layers_50, size, color="C0", lw=1)
    root = 2**0.5 if activation == "ReLU" else 1
    for g in gains if activation != "tanh" else ():
        style = ("k--", 1.2) if g == gain else ("#aaaaaa", 0.7)
        ax.plot(layers_50, (g / root) ** layers_50, style[0], lw=style[1])
    ax.set(yscale="log", ylim=(1e-20, 1e20), xlabel="layer",
           ylabel="root mean square",
           title=f"{activation}, σ = {gain:g} / √n")


d2l.sliders(draw, """Size of the signal over 50 layers for a chosen gain and
    activation. For ReLU with gain 1.414 three seeds stay level, close to
    the dashed line of the theory; grey lines for smaller gains fall and
    those for larger ones rise, straight on the logarithmic axis.""",
    figsize=(5.0, 2.9), gain=gains,
    activation=["linear", "ReLU", "tanh"])

# %% [markdown]
# **Figure 5.4.7.** Three seeds and, dashed, the theory: $g^l$ for linear layers, $(g/\sqrt2)^l$ for ReLU; grey lines are the other gains of the slider.
# For linear layers and ReLU one gain is right and the others are wrong exponentially in the depth; tanh forgives a gain that is too large in the size of its output, which cannot exceed 1, though not in its gradient (Figure 5.4.8).

# %% [markdown]
# ### Gradients by layer
#
# Now the gradient, for six starts of networks of 20 hidden layers of width 64:

# %%
def make_layers(sizes, scheme, seed):
    """Linear layers between the given sizes, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [init_linear(nn.Linear(a, b, dtype=f64), scheme, generator)
            for a, b in zip(sizes, sizes[1:])]


starts = {"tanh, std 0.5": (torch.tanh, 0.5),
          "ReLU, He": (torch.relu, "he"),
          "tanh, Xavier": (torch.tanh, "xavier"),
          "ReLU, Xavier": (torch.relu, "xavier"),
          "ReLU, default": (torch.relu, "default"),
          "sigmoid, Xavier": (torch.sigmoid, "xavier")}
gradients = {label: torch.stack([
    gradient_norms(make_layers(sizes, scheme, seed), act, seed)
    for seed in range(num_seeds)]) for label, (act, scheme)
    in starts.items()}  # (seeds, 21) each

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(6.4, 3.4))
index = torch.arange(1, depth + 2)
for k, (label, runs) in enumerate(gradients.items()):
    ls = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))[k]
    band(ax, index, runs, label, f"C{k}", ls)
ax.set(yscale="log", xlabel="layer", ylabel="norm of the gradient",
       xticks=range(1, 22, 4))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
d2l.describe(ax, """Norm of the weight gradient by layer, six starts with
    ranges over seeds. Tanh with standard deviation 0.5 grows towards the
    first layer to several thousand; ReLU with He and tanh with Xavier are
    level near 1; ReLU with Xavier is level near 0.001; ReLU with the
    default and the sigmoid fall towards the first layer, to 1e-8 and
    1e-12.""")

# %% [markdown]
# **Figure 5.4.8.** Gradient of each weight matrix.
# Three of the six starts are out of balance by three powers of ten or more, and one is balanced but small.

# %%
first_to_last = {label: (runs[:, 0] / runs[:, -1])
                 for label, runs in gradients.items()}
assert (first_to_last["tanh, std 0.5"] > 1000).all()  # explodes
assert (first_to_last["ReLU, default"] < 1e-5).all()  # vanishes
assert (first_to_last["sigmoid, Xavier"] < 1e-9).all()
for label in ("ReLU, He", "tanh, Xavier", "ReLU, Xavier"):  # balanced
    ratio = first_to_last[label]
    low = 0.1 if num_seeds <= 5 else 0.03  # two of 40 seeds are below 0.1
    assert ((low < ratio) & (ratio < 10)).all()
assert (gradients["ReLU, Xavier"] < 0.02).all()

# %% [markdown]
# ReLU does not protect from vanishing gradients: with the default weights the first layer gets a gradient that is more than $10^5$ times smaller than that of the last.
# A bounded activation does not protect from exploding ones: tanh with weights that are too large has activations between -1 and 1 and gradients in the thousands.
#
# ReLU with Xavier contradicts the common picture that vanishing gradients hit the *first* layers.
# All its layers are equally badly off.
# The gradient of $\mathbf{W}^{(l)}$ is a product of the signal that arrives from below, which has shrunk by $2^{-(l-1)/2}$, and the gradient that arrives from above, which has shrunk by $2^{-(L-l)/2}$.
# The product of the two factors is $2^{-(L-1)/2}$ for every $l$; here $L=21$, which gives $2^{-10}$.
#
# For linear layers there is a start that keeps the length of every vector, not only the mean: orthogonal matrices.
# A product of 50 of them is orthogonal, while a product of Gaussians with the right variance has lost most directions.

# %%
names = ("orthogonal", "gaussian")
values = {}
with torch.no_grad():
    for name, scheme in zip(names, ("orthogonal", 1 / 8)):
        product = torch.eye(64, dtype=f64)
        for layer in make_layers([64] * 51, scheme, 0):
            product = layer.weight @ product
        values[name] = torch.linalg.svdvals(product)
shares = {name: (v > 0.01 * v[0]).sum().item()
          for name, v in values.items()}
print("singular values above 1 % of the largest, of 64:", shares)
torch.testing.assert_close(values["orthogonal"], torch.ones(64, dtype=f64))
assert shares["gaussian"] < 32 and shares["orthogonal"] == 64

# %% [markdown]
# Starts of this kind, tuned to the activation, have made it possible to train plain convolutional networks of 10 000 layers with tanh, without normalization and residual connections (Xiao et al., 2018).
# Most deep networks of today have both and are much less sensitive to the start.

# %% [markdown]
# ### Training from four starts
#
# We train networks of 20 layers, 64 units wide, on the first images of [Fashion-MNIST](../04-linear-classification/02-image-classification-dataset.ipynb), standardized with one mean and one standard deviation for all pixels, by SGD with learning rate 0.02 and batches of 64.
#
# One run of such a deep network says little, as the spread will show, so we train several seeds as a `Stack` ([Section 5.1](01-multilayer-perceptrons.ipynb)).

# %%
data = FashionMNIST(train_size=train_size, val_size=2000)
X, X_val = data.X_train.flatten(1), data.X_val.flatten(1)  # (n, 784)
mean, std = X.mean(), X.std()
X, X_val = (X - mean) / std, (X_val - mean) / std
y, y_val = data.y_train, data.y_val


def deep_net(scheme, act, depth, seed):
    """784 inputs, depth - 1 hidden layers of 64, 10 scores."""
    generator, parts = seeded(seed), []
    for a, b in zip([784] + [64] * (depth - 1), [64] * (depth - 1) + [10]):
        parts += [init_linear(nn.Linear(a, b), scheme, generator), act()]
    return nn.Sequential(*parts[:-1])

# %%
def train_all(scheme, act, depth=20, lr=0.02, optimizer=torch.optim.SGD,
              epochs=max_epochs, seeds=range(num_seeds)):
    """Train networks of `depth` layers, one for each seed.

    Returns the validation accuracies (seeds, epochs) and the stack.
    """
    stack = Stack([deep_net(scheme, act, depth, seed) for seed in seeds])
    optimizer = optimizer(stack.parameters(), lr=lr)
    generators, accuracy = [seeded(seed) for seed in seeds], []
    for _ in range(epochs):
        order = torch.stack([torch.randperm(len(X), generator=generator)
                             for generator in generators])  # (S, n)
        train_stack(stack, X, y, order.split(64, dim=1), F.cross_entropy,
                    optimizer)
        with torch.inference_mode():
            hits = (stack(X_val).argmax(dim=-1) == y_val).double()
        accuracy.append(hits.mean(dim=1))  # (S,)
    return torch.stack(accuracy, dim=1), stack

# %% tags=["chaotic"]
runs = {"tanh, Xavier": train_all("xavier", nn.Tanh)[0],
        "ReLU, He": train_all("he", nn.ReLU)[0],
        "ReLU, default": train_all("default", nn.ReLU)[0],
        "sigmoid, Xavier": train_all("xavier", nn.Sigmoid)[0]}
_, axes = plt.subplots(1, 4, figsize=(7.4, 2.4), sharey=True)
for k, (ax, (label, accuracy)) in enumerate(zip(axes, runs.items())):
    for row in accuracy:
        ax.plot(range(1, max_epochs + 1), row, color=f"C{k}", lw=1)
    ax.axhline(0.1, color="#888888", lw=0.8, ls=":")
    ax.set(title=label, xlabel="epoch", ylim=(0, 0.9),
           xticks=range(1, max_epochs + 1))
axes[0].set_ylabel("validation accuracy")
d2l.describe(axes, """Validation accuracy by epoch, one thin line for each
    seed, in four panels. Tanh with Xavier rises to about 0.75. ReLU with
    He rises to between 0.6 and 0.7 with jumps. ReLU with the default and
    the sigmoid stay at 0.1, the level of guessing, for every seed.""")

# %% [markdown]
# **Figure 5.4.9.** Networks of 20 layers with four pairs of activation and start, one line for each seed; the dotted line is guessing.
# Two of the starts are still guessing after five epochs, for every seed drawn.

# %%
# check 5.4-C9: two starts learn, two do not (4 000 images, 5 epochs)
final = {label: accuracy[:, -1] for label, accuracy in runs.items()}
full_run = train_size >= 4000 and max_epochs >= 5
if full_run:  # these two hold for the real images and for the stand-in
    assert (final["ReLU, default"] < 0.2).all()
    assert (final["sigmoid, Xavier"] < 0.2).all()
if full_run and data.source == "real":
    assert (final["ReLU, He"] > 0.4).all()
    assert (final["tanh, Xavier"] > 0.65).all()
shallow, stack = train_all("he", nn.ReLU, depth=2, epochs=1, seeds=[0])
with torch.inference_mode():  # measured on images that were held out
    hits = (stack(X_val).argmax(dim=-1) == y_val).double().mean(dim=1)
    seen = (stack(X).argmax(dim=-1) == y).double().mean(dim=1)
assert torch.equal(shallow[:, -1], hits) and not torch.equal(hits, seen)
one, two = (deep_net("he", nn.ReLU, 2, seed)[0].weight for seed in (0, 1))
assert not torch.equal(one, two)  # a start of its own for each seed
with mock.patch("torch.randperm", wraps=torch.randperm) as shuffle:
    train_all("he", nn.ReLU, depth=2, epochs=2, seeds=[0, 1])
a, b, c, d = (call.kwargs["generator"] for call in shuffle.call_args_list)
assert a is c and b is d and a is not b  # orders of its own too

# %% [markdown]
# With two layers, at this learning rate, the default costs a point or two, as the accuracy against depth shows.

# %% tags=["rtol=0.4"]
depths = (2, 3, 5, 8, 20)
by_depth = {}
for scheme in ("he", "default"):
    rows = [train_all(scheme, nn.ReLU, d)[0][:, -1] for d in depths[:-1]]
    known = final["ReLU, He" if scheme == "he" else "ReLU, default"]
    by_depth[scheme] = torch.stack([*rows, known], dim=1)  # (seeds, 5)

# %% tags=["rtol=0.4", "hide-input"]
_, ax = plt.subplots()
band(ax, depths, by_depth["he"], "ReLU, He", "C0")
band(ax, depths, by_depth["default"], "ReLU, PyTorch's default", "C1", "--")
ax.set(xlabel="number of layers", ylabel="validation accuracy",
       xticks=depths, ylim=(0, 0.9))
ax.legend(loc="center right")
d2l.describe(ax, """Accuracy against the number of layers with ranges over
    seeds. With He initialization it stays near 0.8 up to 8 layers and
    falls slowly to about 0.7 at 20. With the default it is a point
    lower at 2 layers, falls to about 0.5 at 5, and is 0.1 from 8 on.""")

# %% [markdown]
# **Figure 5.4.10.** After the same five epochs of SGD with the same learning rate: a difference of a point or two at two layers, a large one at five, and with the default nothing learned yet at eight layers and at twenty.
# The bands show the range over seeds.

# %%
if full_run:
    two = {name: rows[:, 0].mean() for name, rows in by_depth.items()}
    assert abs(two["he"] - two["default"]) < 0.05  # shallow: no matter
    assert (by_depth["default"][:, 3:] < 0.2).all()  # 8 layers and more
    assert by_depth["he"][:, 3].mean() > 0.6
    if data.source == "real":
        lost = by_depth["he"].mean(dim=0) - by_depth["default"].mean(dim=0)
        assert 0 < lost[0] < 0.03 and lost[2] > 0.15

# %% [markdown]
# Does Adam (Section 12.10), which scales each update to about the same size whatever the gradient, make initialization unimportant?
# We repeat two of the runs with learning rate $10^{-3}$.

# %% tags=["rtol=0.5"]
adam = {scheme: train_all(scheme, nn.ReLU, lr=1e-3, seeds=range(3),
                          optimizer=torch.optim.Adam)[0][:, -1]
        for scheme in ("default", "he")}
for scheme, accuracy in adam.items():
    print(f"Adam, {scheme}: mean accuracy {accuracy.mean().item():.1f}")
if full_run and data.source == "real":
    assert adam["default"].mean() < adam["he"].mean() - 0.2
    assert adam["he"].mean() > 0.65 and adam["default"].mean() > 0.15

# %% [markdown]
# Adam gets the default start off the ground, but after five epochs it is still far below He.

# %% [markdown]
# ## Summary
#
# - The gradient of a layer contains one matrix for each layer above it; products of many matrices grow or shrink exponentially unless something holds them, and ReLU alone does not.
# - In a product of random matrices the logarithm of the size is a random walk; its drift, not the eigenvalues of the factors, decides.
# - Hidden units with equal incoming weights, biases *and* outgoing weights stay equal under gradient descent, whatever the minibatches; zero weights and biases with ReLU or tanh leave all weights at zero. A random start breaks the symmetry.
# - Xavier, $\sigma^2=2/(n_{\mathrm{in}}+n_{\mathrm{out}})$, is a compromise between signals and gradients, exact for linear layers of equal width and slowly shrinking for tanh; ReLU halves the second moment and needs He, $\sigma^2=2/n_{\mathrm{in}}$.
# - PyTorch's default has a sixth of He's variance, and biases that hide it: in a deep ReLU network the activations settle at a small fixed size and lose the input.
# - Look at the spread across inputs as well as at the size, at several seeds rather than one, and at the gradient of every layer.

# %% [markdown]
# ## Exercises
#
# ### Exercise 5.4-1
#
# Hidden units can be permuted.
# Find another symmetry of a network with one hidden layer of ReLUs: a change of the parameters by a number $\alpha>0$ that leaves the function alone.
# Does it also leave the training alone?

# %% [markdown]
# #### Solution 5.4-1

# %% [markdown]
# A ReLU passes positive factors through: $\operatorname{ReLU}(\alpha z)=\alpha\operatorname{ReLU}(z)$ for $\alpha>0$.
# So $\alpha\mathbf{W}^{(1)},\alpha\mathbf{b}^{(1)},\mathbf{W}^{(2)}/\alpha$ gives the same outputs, and one may choose a separate $\alpha$ for every hidden unit.
#
# The training changes.
# The gradient with respect to $\mathbf{W}^{(1)}$ is divided by $\alpha$ while the weights are multiplied by it, so relative to its size one SGD step with the same learning rate changes the first layer $\alpha^{-2}$ times as much as before, and the second $\alpha^2$ times.
# So the same function can train well or badly, and the initialization decides with which of its many parameter settings we start.

# %%
X_toy, y_toy = toy_data()
alpha, grads, outputs = 10.0, [], []
for scale in (1.0, alpha):
    W1 = scale * torch.randn(6, 8, generator=seeded(1))
    b1 = scale * torch.randn(6, generator=seeded(2))
    W2 = torch.randn(3, 6, generator=seeded(3)) / scale
    W1.requires_grad_()
    W2.requires_grad_()
    o = torch.relu(X_toy @ W1.mT + b1) @ W2.mT  # (200, 3)
    grads.append(torch.autograd.grad(F.cross_entropy(o, y_toy), (W1, W2)))
    outputs.append(o.detach())
torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
(g1, g2), (h1, h2) = grads
torch.testing.assert_close(h1 * alpha, g1, rtol=1e-3, atol=1e-5)
torch.testing.assert_close(h2 / alpha, g2, rtol=1e-3, atol=1e-5)

# %% [markdown]
# ### Exercise 5.4-2
#
# Can linear regression and softmax regression start from equal weights, for instance all zero?

# %% [markdown]
# #### Solution 5.4-2

# %% [markdown]
# Yes.
# There is no hidden layer, hence nothing to permute: each weight belongs to one input and one output, and gets a gradient of its own.
# Both losses are convex, so every start that converges reaches the same loss; [Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb) trained softmax regression from zero.

# %%
target = X_toy @ torch.randn(8, 1, generator=seeded(4)) + 0.1 * torch.randn(
    200, 1, generator=seeded(5))  # (200, 1)


def fit_linear(start, loss, outputs):
    """Loss after full-batch descent from W = start."""
    W = start.clone().requires_grad_()  # (outputs, 8)
    for _ in range(1000):
        value = loss(X_toy @ W.mT)
        gradient, = torch.autograd.grad(value, W)
        with torch.no_grad():
            W -= 0.3 * gradient
    return value.item()


noisy = torch.where(torch.rand(200, generator=seeded(6)) < 0.2,
                    torch.randint(3, (200,), generator=seeded(7)), y_toy)
tasks = ((1, lambda o: F.mse_loss(o, target)),
         (3, lambda o: F.cross_entropy(o, noisy)))
for outputs, loss in tasks:
    starts_2 = (torch.zeros(outputs, 8), torch.full((outputs, 8), 0.5),
                torch.randn(outputs, 8, generator=seeded(8)))
    zero, constant, normal = (fit_linear(start, loss, outputs)
                              for start in starts_2)
    assert abs(zero - normal) < 1e-4 and abs(constant - normal) < 1e-4

# %% [markdown]
# ### Exercise 5.4-3
#
# Bound the largest and the smallest singular value of a product by those of its factors.
# What do the bounds say about the condition number, and how sharp are they for the products of 101 matrices above?

# %% [markdown]
# #### Solution 5.4-3

# %% [markdown]
# The largest singular value is the norm $\|\mathbf{A}\|=\max_{\|\mathbf{x}\|=1}\|\mathbf{A}\mathbf{x}\|$.
# From $\|\mathbf{A}\mathbf{B}\mathbf{x}\|\le\|\mathbf{A}\|\|\mathbf{B}\mathbf{x}\|$ follows $\|\mathbf{A}\mathbf{B}\|\le\|\mathbf{A}\|\|\mathbf{B}\|$.
# For square matrices $\|\mathbf{A}\mathbf{x}\|\ge s_{\min}(\mathbf{A})\|\mathbf{x}\|$ gives $s_{\min}(\mathbf{A}\mathbf{B})\ge s_{\min}(\mathbf{A})s_{\min}(\mathbf{B})$ in the same way, so the condition number $\kappa=s_{\max}/s_{\min}$ satisfies $\kappa(\mathbf{A}\mathbf{B})\le\kappa(\mathbf{A})\kappa(\mathbf{B})$.
# The condition number of a product can thus grow exponentially with depth; only for factors with $\kappa=1$, the multiples of orthogonal matrices, is it sure not to.
#
# The bounds are far from sharp for random factors: the direction that one factor stretches most is not the one in which the next stretches most.
# For 101 factors they allow about $10^{49}$ for the largest singular value and $10^{-65}$ for the smallest, and so $10^{114}$ for the condition number.
# The product has about $10^{25}$, as we saw; for the smallest and for the condition number the rates of Exercise 5.4-7 give about $10^{-28}$ and $10^{52}$.

# %%
A = torch.randn(1000, 4, 4, generator=seeded(1), dtype=f64)
B = torch.randn(1000, 4, 4, generator=seeded(2), dtype=f64)
a, b, ab = (torch.linalg.svdvals(M) for M in (A, B, A @ B))  # (1000, 4)
slack = 1 + 1e-9  # rounding
assert (ab[:, 0] <= slack * a[:, 0] * b[:, 0]).all()
assert (slack * ab[:, 3] >= a[:, 3] * b[:, 3]).all()
bound, *_, low = (101 * a.log10().mean(dim=0)).tolist()  # of 101 factors
print(f"log10: at most {bound:.0f}, product {top.mean().item():.0f}; "
      f"smallest at least {low:.0f}")
assert abs(bound - 49) < 2 and abs(low + 65) < 2
assert bound > top.mean() + 10 and abs(top.mean() - 25) < 0.5

# %% [markdown]
# ### Exercise 5.4-4
#
# The gradients of the layers differ by factors of thousands for tanh with standard deviation 0.5.
# Repair the *update* instead of the start: scale the step of each layer so that it changes the layer's weights by the same fraction.
# What does this cure, and what not?

# %% [markdown]
# #### Solution 5.4-4

# %% [markdown]
# With $\Delta\mathbf{W}^{(l)}=-\eta\frac{\|\mathbf{W}^{(l)}\|}{\|\mathbf{G}^{(l)}\|}\mathbf{G}^{(l)}$, where $\mathbf{G}^{(l)}$ is the gradient of layer $l$, every layer moves by the fraction $\eta$ of its norm.
# This is the core of *LARS*, layer-wise adaptive rate scaling (You et al., 2017), made for training with very large batches.
# It cures the imbalance between layers, and no single step moves a layer by more than the fraction $\eta$ of its norm.
#
# But it leaves the start as it is, and at the one rate that we try it does not make up for every bad start.
# We scale the steps of the weights in this way, leave those of the biases to SGD, and train with $\eta=0.003$ for the same five epochs from three starts: He learns, the default, where the activations hardly depend on the input, is far behind, and tanh with standard deviation 0.5 is still guessing.
# At its start the last of these networks sends inputs that nearly agree far apart (Poole et al., 2016), and scaled steps begin from there as unscaled ones do.

# %%
layers = make_layers(sizes, 0.5, seed=0)
norms = gradient_norms(layers, torch.tanh)  # fills .grad
norm = torch.linalg.vector_norm  # of all entries
eta, plain, lars = 0.01, [], []
with torch.no_grad():
    for layer in layers:
        W, G = layer.weight, layer.weight.grad
        plain.append(eta * norm(G) / norm(W))
        step = eta * norm(W) / norm(G) * G
        lars.append(norm(step) / norm(W))
plain, lars = torch.stack(plain), torch.stack(lars)  # (21,)
print(f"largest / smallest relative step: SGD above "
      f"{10 ** math.floor(math.log10(plain.max() / plain.min()))}, "
      f"LARS {lars.max() / lars.min():.3f}")
torch.testing.assert_close(lars, torch.full_like(lars, eta))
assert plain.max() > 100 * plain.min()


# %%
class LARS(torch.optim.SGD):
    """SGD that moves each weight matrix of a stack by the fraction lr."""

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            if p.dim() == 3:  # weights (S, n_out, n_in), not biases
                W, G = (norm(t, dim=(1, 2), keepdim=True)
                        for t in (p, p.grad))  # (S, 1, 1) each
                p.grad *= W / G.clamp_min(1e-30)
        super().step()


probe = Stack([nn.Linear(8, 3) for _ in range(2)])
W = probe.params[0].detach().clone()  # (2, 3, 8)
train_stack(probe, *toy_data(), [torch.arange(200)], F.cross_entropy,
            LARS(probe.parameters(), lr=0.01))
torch.testing.assert_close(norm(probe.params[0].detach() - W, dim=(1, 2)),
                           0.01 * norm(W, dim=(1, 2)))

# %% tags=["rtol=0.5"]
by_lars = {}
for scheme, act in (("he", nn.ReLU), ("default", nn.ReLU), (0.5, nn.Tanh)):
    accuracy, _ = train_all(scheme, act, lr=0.003, optimizer=LARS)
    by_lars[scheme] = accuracy[:, -1].mean().item()
    print(f"LARS, {scheme}: mean accuracy {by_lars[scheme]:.1f}")
if full_run and data.source == "real":
    assert by_lars["he"] > 0.55 and 0.15 < by_lars["default"] < 0.4
    assert by_lars[0.5] < 0.15

# %% [markdown]
# ### Exercise 5.4-5
#
# Find the gain for GELU, $z\,\Phi(z)$ with the normal distribution function $\Phi$, by Monte Carlo.
# Then vary the variance of the input: is the signal of a deep GELU network as stable as that of a ReLU network?

# %% [markdown]
# #### Solution 5.4-5

# %% [markdown]
# As in (5.4.10), the second moment is kept if $g^2E[\phi(z)^2]=1$ with $z\sim\mathcal{N}(0,1)$, so $g=1/\sqrt{E[\phi(z)^2]}$.
# For GELU this is about 1.53, and for tanh about 1.59, where PyTorch has $\frac53$.
#
# ReLU has a property that GELU lacks: scaling the input by a positive number scales the output by the same number.
# So for ReLU every size of the signal is kept.
# For GELU only the variance 1 is, and it is an *unstable* point: a signal slightly too large grows from layer to layer, one slightly too small shrinks.

# %%
z = torch.randn(1_000_000, generator=seeded(3), dtype=f64)
gain = 1 / F.gelu(z).square().mean().sqrt().item()
print(f"gain of GELU: {gain:.3f}")
assert abs(gain - 1.53) < 0.01
assert abs(1 / torch.tanh(z).square().mean().sqrt() - 1.59) < 0.01
for v in (0.5, 2.0):  # variance in, variance out
    out = (gain * F.gelu(math.sqrt(v) * z)).square().mean().item()
    print(f"variance {v} becomes {out:.2f}")
    assert out < 0.48 if v < 1 else out > 2.1

# %% [markdown]
# ### Exercise 5.4-6
#
# Show that a vector multiplied by $n\times n$ Gaussian matrices of variance $\frac1n$ loses about $\frac1{2n}$ in the logarithm of its length with each factor.
# How many layers may a network of width $n$ have before this matters?

# %% [markdown]
# #### Solution 5.4-6

# %% [markdown]
# The entries of $\mathbf{A}\mathbf{u}$ are independent normal numbers of variance $\|\mathbf{u}\|^2/n$, whatever the direction of $\mathbf{u}$, so $\|\mathbf{A}\mathbf{u}\|^2=\|\mathbf{u}\|^2c/n$ with $c$ from the chi-squared distribution with $n$ degrees of freedom.
# The logarithm of the length is a random walk with independent steps $\frac12\log\frac cn$.
# Since $E[\log c]=\log2+\psi(\frac n2)$ with the digamma function $\psi$, the derivative of $\log\Gamma$, its drift is $\lambda_1=\frac12\left[\log\frac2n+\psi\left(\frac n2\right)\right]$.
# For large arguments $\psi(x)\approx\log x-\frac1{2x}$, so $\lambda_1\approx-\frac1{2n}$.
# After $L$ factors the logarithm of the length has the mean $-\frac L{2n}$ and the variance $\frac L{2n}$: nothing to fear while the depth is small against the width.
# For width 256 and 50 layers $\frac L{2n}$ is 0.1.
# With ReLU and He's variance the same computation gives about $\frac5{4n}$ in place of $\frac1{2n}$, two and a half times as much.

# %%
for n in (4, 16, 64):
    half_n = torch.tensor(n / 2, dtype=f64)
    exact = (math.log(2 / n) + torch.digamma(half_n).item()) / 2
    c = torch.distributions.Chi2(torch.tensor(float(n)))
    torch.manual_seed(n)
    sample = (c.sample((200_000,)) / n).log() / 2  # steps of the walk
    print(f"n = {n:2}: exact {exact:.4f}, -1/(2n) = {-1 / (2 * n):.4f}")
    assert abs(exact * 2 * n + 1) < 0.4 / n  # error of order 1 / n
    assert abs(sample.mean().item() - exact) < 0.006 / n**0.5
    assert abs(sample.var().item() * 2 * n - 1) < 2 / n

# %% [markdown]
# ### Exercise 5.4-7
#
# At which rates do all four singular values of a product of $4\times4$ Gaussian matrices grow?
# Generalize the argument of Exercise 5.4-6 to areas and volumes, and measure the rates without multiplying the matrices out.
# Compare the root mean square of the length with its typical size.

# %% [markdown]
# #### Solution 5.4-7

# %% [markdown]
# Two vectors span a parallelogram; the logarithm of its area grows by $\lambda_1+\lambda_2$ with each factor, where the second rate has one degree of freedom less, and so on for volumes.
# The $n$ rates of growth, called *Lyapunov exponents*, are
#
# $$\lambda_i = \frac12\left[\log2+\psi\left(\frac{n-i+1}2\right)\right]+\log s,\qquad i=1,\dots,n, \tag{5.4.12}$$
#
# for matrices in $\mathbb{R}^{n\times n}$ whose entries are independent and normal with mean 0 and standard deviation $s$.
# The singular values of a product of $k$ such matrices behave like $\sigma_i\approx e^{\lambda_ik}$ for large $k$.

# %%
def exponents(n, s=1.0):
    """Rates (n,) at which products of n x n Gaussians grow, (5.4.12)."""
    freedom = torch.arange(n, 0, -1, dtype=f64)  # n, n - 1, ..., 1
    return (math.log(2) + torch.digamma(freedom / 2)) / 2 + math.log(s)


rates = exponents(4)
print("per factor:", [round(rate, 3) for rate in rates.tolist()])
torch.testing.assert_close(
    rates, torch.tensor([0.558, 0.365, 0.058, -0.635], dtype=f64),
    atol=5e-4, rtol=0)

# %% [markdown]
# To measure all four we must not multiply the matrices out, since the small singular values would drown in the rounding errors of the large one.
# A QR decomposition after each factor keeps the directions apart: $\mathbf{A}\mathbf{Q}=\mathbf{Q}'\mathbf{R}$ with orthogonal $\mathbf{Q},\mathbf{Q}'$ and a triangular $\mathbf{R}$, whose diagonal holds the growth of this step.

# %%
def matrix_product_growth(n, k, sigma=1.0, num_runs=20, seed=0):
    """Growth in products of k Gaussian n x n matrices, in log10.

    Returns the sizes along n directions after each factor,
    (k, num_runs, n).
    """
    generator = torch.Generator().manual_seed(seed)
    Q = torch.eye(n, dtype=f64).expand(num_runs, n, n)
    steps = []
    for _ in range(k):
        A = sigma * torch.randn(num_runs, n, n, generator=generator,
                                dtype=f64)
        Q, R = torch.linalg.qr(A @ Q)
        steps.append(R.diagonal(dim1=1, dim2=2).abs().log10())
    return torch.stack(steps).cumsum(dim=0)


for s in (0.5, 1.0):
    growth = matrix_product_growth(4, 101, sigma=s, num_runs=300)
    seen = growth[-1].mean(dim=0) * math.log(10) / 101  # (4,)
    torch.testing.assert_close(seen, exponents(4, s), atol=0.02, rtol=0)

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.0, 3.4))
factors = torch.arange(1, 102)
for i in range(4):
    for run in range(12):
        ax.plot(factors, growth[:, run, i], color=f"C{i}", lw=0.5)
    line = rates[i] / math.log(10) * factors
    ax.plot(factors, line, "--", color="black", lw=1.4)
    ax.text(103, line[-1], f"i = {i + 1}", color=f"C{i}", va="center")
ax.set(xlabel="number of factors", ylabel="log10 of the size",
       xlim=(0, 115))
d2l.describe(ax, """Four bundles of twelve thin random walks each against
    the number of factors. Three drift upwards, to 24, 16 and 2.5 in log10
    after 101 factors, and one downwards to minus 28. Dashed straight
    lines, the theory, run through the middle of each bundle.""")

# %% [markdown]
# **Figure 5.4.11.** Products of random $4\times4$ matrices in 12 runs: the sizes along four directions are random walks with the drifts of (5.4.12), dashed.
# They move apart, so the product approaches rank one.

# %% [markdown]
# The expectation of $\|\mathbf{A}\mathbf{u}\|^2$ is $n\|\mathbf{u}\|^2$, so the *root mean square* after 100 factors is $n^{50}=2^{100}\approx10^{30}$ for $n=4$, a million times the typical size.
# Such a mean is dominated by draws so rare that a sample of 300 does not show them:

# %%
lengths = 10 ** growth[99, :, 0]  # (300,) after 100 factors
print(f"median 10^{lengths.median().log10():.0f}, "
      f"root mean square of 300 runs 10^"
      f"{lengths.square().mean().sqrt().log10():.0f}, exact 10^"
      f"{100 * math.log10(2):.0f}")
assert lengths.median().log10() + 1 < lengths.square().mean().log10() / 2
assert lengths.square().mean().log10() / 2 < 100 * math.log10(2) - 1

# %% [markdown]
# ### Exercise 5.4-8
#
# Train one hidden layer of 64 ReLUs with He initialization for one epoch with the learning rates 0.02, 0.1, 1 and 3, and count the dead units.
# Can a dead unit come back?

# %% [markdown]
# #### Solution 5.4-8

# %% [markdown]
# With one hidden layer the inputs of a hidden unit are the data, which are fixed, so under plain gradient descent a unit that is dead for all of them stays dead (momentum or weight decay may still move it); too large steps make many such units.

# %% tags=["rtol=0.5"]
dead = {}
for lr in (0.02, 0.1, 1.0, 3.0):
    accuracy, stack = train_all("he", nn.ReLU, 2, lr, epochs=1)
    with torch.no_grad():
        W, b = stack.params[:2]  # (S, 64, 784), (S, 64)
        H = torch.relu(X @ W.mT + b[:, None])  # (S, n, 64)
    dead[lr] = (H == 0).all(dim=1).double().mean().item()
    print(f"lr {lr:4}: share dead {dead[lr]:.2f}, "
          f"accuracy {accuracy.mean().item():.1f}")
assert dead[0.02] == 0
if full_run:
    assert dead[1.0] > 0.1 and dead[3.0] > dead[1.0]

# %% [markdown]
# With a trained layer below, the inputs of a unit move, and it may come back.
# We make 20 of 40 units in a second hidden layer dead by a small margin, train on the toy data, and count, with the first layer trained and frozen.

# %%
def revived(train_first, seed, margin=0.01, steps=300):
    """How many of 20 dead units in the second layer are active again."""
    X, y = toy_data(seed)
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    second, last = nn.Linear(16, 40), nn.Linear(40, 3)
    with torch.no_grad():  # the first 20 units: just below zero
        second.bias[:20] -= second(first(X)).amax(dim=0)[:20] + margin
        assert (second(first(X))[:, :20] < 0).all()
    first.requires_grad_(train_first)
    net = nn.Sequential(first, second, nn.ReLU(), last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(X), y).backward()
        optimizer.step()
    with torch.no_grad():
        return (second(first(X))[:, :20] > 0).any(dim=0).sum().item()


back = {train: [revived(train, seed) for seed in range(3)]
        for train in (True, False)}
print(f"active again, of 20: first layer trained {back[True]}, "
      f"frozen {back[False]}")
assert min(back[True]) >= 5 and back[False] == [0, 0, 0]
assert sum(revived(True, seed, margin=1.0) for seed in range(3)) < 10

# %% [markdown]
# The margin matters: with `margin=1.0` in place of 0.01 fewer than 10 of the 60 units of the three runs come back.
# A leaky ReLU ([Section 5.1](01-multilayer-perceptrons.ipynb)) has a slope on the negative side too, and so no dead units.

# %% [markdown]
# ## Sources
#
# - J. Zhao, F. Schäfer, A. Anandkumar (2022). ZerO initialization: initializing neural networks with only zeros and ones. [arXiv:2110.12661](https://arxiv.org/abs/2110.12661).
# - S. Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen*, diploma thesis, 1991; Y. Bengio, P. Simard and P. Frasconi, Learning long-term dependencies with gradient descent is difficult, 1994, [doi:10.1109/72.279181](https://doi.org/10.1109/72.279181): vanishing gradients.
# - C. M. Newman, The distribution of Lyapunov exponents: exact results for random matrices, 1986, [doi:10.1007/BF01464284](https://doi.org/10.1007/BF01464284): equation (5.4.12).
# - X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, [proceedings.mlr.press/v9/glorot10a](https://proceedings.mlr.press/v9/glorot10a.html): Xavier initialization.
# - K. He, X. Zhang, S. Ren and J. Sun, Delving deep into rectifiers, 2015, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): He initialization.
# - A. M. Saxe, J. L. McClelland and S. Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2014, [arXiv:1312.6120](https://arxiv.org/abs/1312.6120): orthogonal initialization; L. Xiao et al., Dynamical isometry and a mean field theory of CNNs, 2018, [arXiv:1806.05393](https://arxiv.org/abs/1806.05393): 10 000 layers.
# - B. Poole et al., Exponential expressivity in deep neural networks through transient chaos, 2016, [arXiv:1606.05340](https://arxiv.org/abs/1606.05340): size and correlation of signals.
# - R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, 2013, [arXiv:1211.5063](https://arxiv.org/abs/1211.5063): gradient clipping.
# - Y. You, I. Gitman and B. Ginsburg, Large batch training of convolutional networks, 2017, [arXiv:1708.03888](https://arxiv.org/abs/1708.03888): LARS.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
