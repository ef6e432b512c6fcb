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
# Take a network of 20 layers and change nothing but the width of the distribution that its first weights are drawn from.
# One choice trains; another is still guessing when the first has finished, and neither reports an error.
# This section explains such outcomes: a deep network multiplies many matrices, and products of many factors rarely keep their size by accident.

# %% [markdown]
# **You will**
#
# - predict from the variance of the weights whether signals and gradients grow or shrink with depth, and how fast;
# - say which weights break the symmetry between hidden units, and what happens to those that do not;
# - derive the initializations of Xavier and He, and say what PyTorch does by default;
# - train the same deep network from four starts and see which of them learn.
#
# **Cost**: about half a minute on a CPU, no use of a GPU; a download of 31 MB, once.

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST

d2l.use_style()
f64 = torch.float64  # its range and precision show what float32 hides

# %% tags=["parameters"]
train_size = 4000  # images of the training experiments
max_epochs = 5
num_seeds = 5  # networks that are trained from each start

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
# Each $\mathbf{M}^{(k)}$ is the matrix of partial derivatives of $\mathbf{h}^{(k)}$ by $\mathbf{h}^{(k-1)}$, and $\mathbf{v}^{(l)}$ holds those of $\mathbf{h}^{(l)}$ by the weights of its own layer.
# The gradient for $\mathbf{W}^{(l)}$ thus contains a product of $L-l$ matrices.
#
# ![A chain of circles x, h1, h2, dots, h of L minus 1, and o. Blue arrows f1 to fL lead to the right. Orange arrows lead back from o, labelled M of L down to M of 2; a green arrow v1 leads from h1 down to the box W1.](img/init-chain.svg)
#
# **Figure 5.4.1.** On its way back to $\mathbf{W}^{(1)}$ the gradient passes every layer, and each multiplies it by a matrix.

# %% [markdown]
# A product of 50 numbers is $1.4\cdot10^{-5}$ if each is 0.8, and 9100 if each is 1.2.
# Matrices behave alike, with a difference: their product may stretch one direction and crush another.
# A gradient that is too large makes a step that destroys what the model has learned, or it overflows to `inf`.
# A gradient that is too small moves nothing: the layer keeps its random weights.
#
# When products of many probabilities underflow, we add their logarithms.
# That does not help here.
# The entries of a product of matrices are sums of terms with both signs, so they have no logarithm that adds up, and the update needs the gradient itself.
# Moreover, range is only half of the trouble: a layer whose gradient is $10^{10}$ times smaller than that of its neighbour is a problem for the learning rate in any number format.

# %% [markdown]
# ### Vanishing gradients
#
# Let the layer be $\mathbf{h}^{(l)}=\phi(\mathbf{z}^{(l)})$ with $\mathbf{z}^{(l)}=\mathbf{W}^{(l)}\mathbf{h}^{(l-1)}+\mathbf{b}^{(l)}$ and an activation $\phi$ that acts on each entry.
# Then
#
# $$\mathbf{M}^{(l)} = \operatorname{diag}\left(\phi'(\mathbf{z}^{(l)})\right)\mathbf{W}^{(l)}. \tag{5.4.3}$$
#
# The diagonal matrix holds the slopes of the activation at the $n$ units of the layer, and $\mathbf{W}^{(l)}\in\mathbb{R}^{n\times n}$ if all layers have the same width.
# For a long time the usual activation was the sigmoid, whose slope is $\sigma'(z)=\sigma(z)(1-\sigma(z))$.

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
# The weights can make up for it only within limits: large weights push $z$ to the flat ends, where the slope is far below $\frac14$.
#
# To measure, we send a batch through a list of linear layers with an activation between them, compute the cross-entropy for random labels, and take the norm of the gradient of each weight matrix.

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
    F.cross_entropy(forward(layers, act, X), y).backward()
    return torch.stack([layer.weight.grad.norm() for layer in layers])

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
assert math.isclose(0.25**10, 9.54e-7, rel_tol=1e-3)
assert slope.max() <= 0.25
assert (norms[:, 0] < 1e-10 * norms[:, -1]).all()
worst = (norms[:, 0] / norms[:, -1]).max().log10().ceil().item()
print(f"first layer / last layer: below 10^{worst:.0f}")

# %% [markdown]
# The rate can be predicted.
# The default weights have variance $\frac1{3n}$, as the part on initialization will show, so multiplication by $\mathbf{W}^\top$ changes the length of a gradient by about $\sqrt{n\cdot\frac1{3n}}=0.577$; together with the slope $\frac14$ that makes 0.144 for each layer.

# %%
_, ax = plt.subplots()
index = torch.arange(1, depth + 2)
for i, row in enumerate(norms):
    ax.plot(index, row, color="C0", lw=0.8,
            label="measured, one line a seed" if i == 0 else None)
predicted = norms[:, -2].mean() * (0.25 / 3**0.5) ** (depth - index[:-1])
ax.plot(index[:-1], predicted, "k--", lw=1.2, label="0.144 per layer")
ax.set(xlabel="layer", ylabel="norm of the gradient", yscale="log",
       xticks=range(1, 22, 4))
ax.legend()
d2l.describe(ax, """Norm of the weight gradient by layer on a logarithmic
    axis: for all seeds it falls along a straight line from about 1 at the
    last layer to about 1e-16 at the first, close to the prediction.""")

# %% [markdown]
# **Figure 5.4.3.** Twenty layers of sigmoids: going back one layer costs a factor of about seven, whatever the seed.

# %% [markdown]
# The rectifier $\operatorname{ReLU}(z)=\max(z,0)$ has slope 1 for positive and 0 for negative inputs, so the factor $\frac14$ is gone.
# It is often said that ReLU *avoids* vanishing gradients; it mitigates them, no more.
# The weights still scale signal and gradient, and Figure 5.4.9 shows ReLU networks with vanishing gradients.
# And there is a failure that the sigmoid does not have: a unit whose input is negative for every example puts out 0, gets the gradient 0, and so never comes back.
# It is a *dead unit*.
# The end of the section counts them after training with a large learning rate; here we make one on purpose.

# %%
torch.manual_seed(0)
unit = nn.Linear(4, 1)
with torch.no_grad():
    unit.bias.fill_(-10.0)  # below anything the weighted sum can reach
h = torch.relu(unit(torch.randn(1000, 4)))  # (1000, 1)
(h - 1).square().mean().backward()  # the unit should put out 1
print("largest output:", h.max().item(),
      "  gradient:", unit.weight.grad.norm().item())
assert unit.weight.grad.count_nonzero() == 0 and unit.bias.grad == 0

# %% [markdown]
# ### Exploding gradients
#
# The opposite failure needs no more than a random start.
# We draw 101 matrices of shape $4\times4$ with standard normal entries and multiply them.

# %%
generator = torch.Generator().manual_seed(3)
M = torch.randn(4, 4, generator=generator, dtype=f64)
for _ in range(100):
    M = torch.randn(4, 4, generator=generator, dtype=f64) @ M
ratio = M / M[0]  # each row divided by the first
print(f"largest entry: {M.abs().max().item():.1e}")
for row in ratio.tolist():
    print("row / first row:", " ".join(f"{value:8.5f}" for value in row))
assert (ratio.std(dim=1) < 1e-4 * ratio.mean(dim=1).abs()).all()

# %% [markdown]
# Two things happened.
# The entries have become astronomically large, and all rows are multiples of one another: the product has, to many digits, rank one.
# It has forgotten three of its four input directions.
#
# How fast does such a product grow?
# Apply the matrices one after the other to a vector $\mathbf{u}$.
# The entries of $\mathbf{A}\mathbf{u}$ are independent normal numbers of variance $\|\mathbf{u}\|^2$, whatever the direction of $\mathbf{u}$, so $\|\mathbf{A}\mathbf{u}\|^2=\|\mathbf{u}\|^2\,c$ with $c$ from the chi-squared distribution with $n$ degrees of freedom.
# The logarithm of the length is therefore a *random walk* with independent steps $\frac12\log c$.
# Its drift is known, because $E[\log c]=\log2+\psi(\frac n2)$ with the digamma function $\psi$, the derivative of $\log\Gamma$.
#
# Two vectors tell about a second direction: the area of the parallelogram they span grows by the first factor times a second one, which has one degree of freedom less.
# In general the $n$ rates of growth, called *Lyapunov exponents*, are
#
# $$\lambda_i = \frac12\left[\log2+\psi\left(\frac{n-i+1}2\right)\right]+\log s,\qquad i=1,\dots,n, \tag{5.4.4}$$
#
# for matrices in $\mathbb{R}^{n\times n}$ whose entries are independent and normal with mean 0 and standard deviation $s$.
# The singular values of a product of $k$ such matrices behave like $\sigma_i\approx e^{\lambda_ik}$ for large $k$.

# %%
def exponents(n, s=1.0):
    """Rates (n,) at which products of n x n Gaussians grow, (5.4.4)."""
    freedom = torch.arange(n, 0, -1, dtype=f64)  # n, n - 1, ..., 1
    return (math.log(2) + torch.digamma(freedom / 2)) / 2 + math.log(s)


rates = exponents(4)
print("per factor:", [round(rate, 3) for rate in rates.tolist()])
torch.testing.assert_close(
    rates, torch.tensor([0.558, 0.365, 0.058, -0.635], dtype=f64),
    atol=5e-4, rtol=0)

# %% [markdown]
# So $k=100$ factors give a typical size of $e^{0.558\cdot100}\approx10^{24}$, and a second singular value that is smaller by $e^{-0.193\cdot100}\approx10^{-8}$: rank one, as seen.
#
# To measure all four we must not multiply the matrices out, since the small singular values would drown in the rounding errors of the large one.
# A QR decomposition after each factor keeps the directions apart: $\mathbf{A}\mathbf{Q}=\mathbf{Q}'\mathbf{R}$ with orthogonal $\mathbf{Q},\mathbf{Q}'$ and a triangular $\mathbf{R}$, whose diagonal holds the growth of this step.

# %%
def matrix_product_growth(n, k, sigma=1.0, num_runs=20, seed=0):
    """Growth in products of k Gaussian n x n matrices, in log10.

    Returns the sizes along n directions after each factor,
    (k, num_runs, n), and the products (num_runs, n, n).
    """
    generator = torch.Generator().manual_seed(seed)
    P = Q = torch.eye(n, dtype=f64).expand(num_runs, n, n)
    steps = []
    for _ in range(k):
        A = sigma * torch.randn(num_runs, n, n, generator=generator,
                                dtype=f64)
        P = A @ P
        Q, R = torch.linalg.qr(A @ Q)
        steps.append(R.diagonal(dim1=1, dim2=2).abs().log10())
    return torch.stack(steps).cumsum(dim=0), P


growth, P = matrix_product_growth(4, 101, num_runs=300)
singular = torch.linalg.svdvals(P)  # (300, 4)
top = singular[:, 0].log10()
gap = (singular[:, 1] / singular[:, 0]).log10()
print(f"log10 of the largest: {top.mean():.1f} +- {top.std():.1f}; "
      f"second / largest: {gap.mean():.1f}")

# %%
# check 5.4-C2: size, spread and rank of the product of 101 matrices
assert ((18 < top[:20]) & (top[:20] < 31)).all()
assert 18 < math.log10(1.2e23) < 31  # a published run has 1.2e23
assert abs(top.mean() - 24.96) < 0.4 and abs(top.std() - 1.84) < 0.3
assert abs(gap.mean() + 8.7) < 0.4
slopes = growth[-1].mean(dim=0) * math.log(10) / 101  # (4,)
torch.testing.assert_close(slopes, rates, atol=0.02, rtol=0)

# %%
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
# **Figure 5.4.4.** Products of random $4\times4$ matrices in 12 runs: the sizes along four directions are random walks with the drifts of (5.4.4), dashed.
# They move apart, so the product approaches rank one.

# %% [markdown]
# Each step of the first walk has standard deviation $\frac12\sqrt{\psi'(2)}$, which after 101 factors makes 1.75 in $\log_{10}$, about what we measured.
# A spread of that size has a consequence for averages.
# The expectation of $\|\mathbf{A}\mathbf{u}\|^2$ is $n\|\mathbf{u}\|^2$, so the *root mean square* after 100 factors is $n^{50}=2^{100}\approx10^{30}$ for $n=4$, a million times the typical size.
# Such a mean is dominated by draws so rare that a sample never shows them:

# %%
lengths = 10 ** growth[99, :, 0]  # (300,) after 100 factors
print(f"median 10^{lengths.median().log10():.0f}, "
      f"root mean square of 300 runs 10^"
      f"{lengths.square().mean().sqrt().log10():.0f}, exact 10^"
      f"{100 * math.log10(2):.0f}")
assert lengths.median().log10() + 1 < lengths.square().mean().log10() / 2
assert lengths.square().mean().log10() / 2 < 100 * math.log10(2) - 1

# %% [markdown]
# Many texts blame the eigenvalues of the single factors: above 1 the product explodes, below 1 it vanishes.
# That is right if all factors are the same matrix, as in a recurrent network that is linear, and wrong in general.
# Here are two factors whose eigenvalues are all 0, while their products grow without bound:

# %%
A = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
B = A.mT
print("eigenvalues of A:", torch.linalg.eigvals(A).abs().tolist(),
      "  of AB:", torch.linalg.eigvals(A @ B).abs().tolist())
assert torch.linalg.eigvals(A).abs().max() == 0
assert torch.linalg.matrix_power(A @ B, 50)[0, 0] == 4.0**50

# %% [markdown]
# In single precision the largest number is $3.4\cdot10^{38}$.
# By (5.4.4) the product should exceed it near factor $\log(3.4\cdot10^{38})/0.558=159$.

# %%
def overflow_step(seed):
    """Number of float32 factors until the product is not finite."""
    generator = torch.Generator().manual_seed(seed)
    M, k = torch.eye(4), 0
    while M.isfinite().all():
        M, k = torch.randn(4, 4, generator=generator) @ M, k + 1
    return k


expected = math.log(torch.finfo(torch.float32).max) / rates[0].item()
steps = torch.tensor([overflow_step(seed) for seed in range(20)]).double()
print(f"overflow at factor {steps.mean():.0f} +- {steps.std():.0f}, "
      f"expected near {expected:.0f}")
assert abs(steps.mean() - expected) < 12  # standard error below 4

# %% [markdown]
# The cure that suggests itself is to scale the entries so that nothing grows on average: variance $\frac1n$ makes the mean of $\|\mathbf{A}\mathbf{u}\|^2$ equal to $\|\mathbf{u}\|^2$.
# For small $n$ this is not enough, because a random walk with the right *mean square* has a negative drift of the *logarithm*.
# The drift of (5.4.4) with $s^2=\frac1n$ is $\frac12[\log\frac2n+\psi(\frac n2)]\approx-\frac1{2n}$, and the standard deviation of a step is about $\frac1{\sqrt{2n}}$.
# Both vanish for wide layers.

# %%
narrow, P_narrow = matrix_product_growth(4, 100, sigma=0.5)
u = torch.ones(10, 256, 1) / 16  # ten vectors of length 1
generator = torch.Generator().manual_seed(2)
for _ in range(100):
    A = torch.randn(10, 256, 256, generator=generator) / 16
    u = A @ u  # (10, 256, 1)
wide = u.norm(dim=1)[:, 0].log10()  # (10,)
first = narrow[-1, :, 0]  # (20,)
print(f"width   4: {first.mean():.1f} +- {first.std():.1f}")
print(f"width 256: {wide.mean():.2f} +- {wide.std():.2f}")

# %%
# check 5.4-C3: right in the mean square, and yet it shrinks if narrow
typical = exponents(4, 0.5)[0].item() * 100 / math.log(10)
assert abs(typical + 5.9) < 0.05
assert abs(first.mean() - typical) < 1.6  # four standard errors
assert abs(wide.mean()) < 0.25 and 0.05 < wide.std() < 0.4

# %% [markdown]
# Stability in the mean needs width as well: the wide product has kept its size through 100 factors, while the narrow one has lost several powers of ten.
#
# What can be done against exploding gradients?
# The start of the training is a matter of initialization, the subject of the second part.
# Later chapters change the network itself: normalization layers and residual connections in Chapter 8.
# And during training one can refuse steps that are too long: *gradient clipping* replaces the gradient by
#
# $$\mathbf{g}\leftarrow\min\left(1,\frac\theta{\|\mathbf{g}\|}\right)\mathbf{g}. \tag{5.4.5}$$
#
# Here $\mathbf{g}$ is the gradient of *all* parameters, written as one long vector, and $\theta>0$ is the largest norm allowed.
# The direction stays, only the length is cut.
# For $\mathbf{g}=(3,4,12)$ the norm is 13, so $\theta=1$ divides it by 13.
# In PyTorch, `clip_grad_norm_` is called between `backward` and `step`, and it returns the norm *before* clipping, which is worth plotting.

# %%
# check 5.4-C10: norm 13 is reported, then cut to 1, direction kept
weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
weights[0].grad = torch.tensor([3.0, 4.0])
weights[1].grad = torch.tensor([12.0])
before = nn.utils.clip_grad_norm_(weights, max_norm=1.0)
g = torch.cat([w.grad for w in weights])  # (3,)
assert before == 13
torch.testing.assert_close(g, torch.tensor([3.0, 4, 12]) / 13)
torch.testing.assert_close(g.norm(), torch.tensor(1.0))
again = nn.utils.clip_grad_norm_(weights, max_norm=5.0)  # short enough
torch.testing.assert_close(torch.cat([w.grad for w in weights]), g)

# %% [markdown]
# Clipping does nothing for gradients that vanish, and it does not tell a layer with a large gradient from one with a small one.
# Its main use is in recurrent networks (Section 9.5).

# %% [markdown]
# ### Breaking the symmetry
#
# A hidden layer does not know the order of its units.
# Number them anew, that is, permute the rows of $\mathbf{W}^{(1)}$ and $\mathbf{b}^{(1)}$ and in the same way the columns of $\mathbf{W}^{(2)}$: the network computes the same function.
# A layer of $h$ units has $h!$ such settings, 720 for $h=6$.
#
# By itself that is harmless, since one of the settings is as good as another.
# It becomes a trap if the start is symmetric.
# Let all hidden weights equal the same number $c$.
# Then all hidden units compute the same, so they get the same gradient, so they are still equal after the step.
# By induction they stay equal for ever, and the layer of $h$ units is worth one.
#
# We test it with 8 inputs, 6 hidden units and 3 classes.

# %%
def toy_data(seed=0):
    """200 examples X (200, 8) with labels (200,) in three classes."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(200, 8, generator=generator)
    scores = torch.stack((X[:, 0] + X[:, 1], 2 * X[:, 2], -X[:, 3]), dim=1)
    return X, scores.argmax(dim=1)


def constant_init_experiment(c, dropout=0.0, act=torch.relu, steps=50,
                             seed=0):
    """W1, b1, W2, b2 after minibatch SGD from all weights equal to c."""
    X, y = toy_data(seed)
    params = [torch.full((6, 8), float(c)), torch.zeros(6),
              torch.full((3, 6), float(c)), torch.zeros(3)]
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
# [Section 5.6](06-dropout.ipynb) introduces *dropout*, which sets a random part of the hidden units to zero in each step.
# Here it serves as a source of randomness that treats units differently.

# %%
after = constant_init_experiment(0.5)[0]
dropped = constant_init_experiment(0.5, dropout=0.5)[0]
_, axes = plt.subplots(1, 3, figsize=(7, 2.6), sharey=True)
for ax, W, title in zip(axes, (torch.full((6, 8), 0.5), after, dropped),
                        ("start", "50 steps", "50 steps, dropout")):
    image = ax.imshow(W, vmin=0.35, vmax=0.65, cmap="PuOr")
    ax.grid(False)
    ax.set(title=title, xlabel="input", xticks=range(0, 8, 2))
axes[0].set_ylabel("hidden unit")
plt.colorbar(image, ax=axes, shrink=0.8, label="weight")
d2l.describe(axes, """First-layer weights as 6 by 8 images. At the start
    all are equal. After 50 steps the columns differ, but within a column
    all six units have the same colour. With dropout the six rows
    differ.""")

# %% [markdown]
# **Figure 5.4.5.** Weights $\mathbf{W}^{(1)}$, one row for each hidden unit, from the constant start $c=0.5$.
# Training tells the inputs apart but not the units; dropout does.

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
        W1 = constant_init_experiment(0.5, 0.5, act, seed=seed)[0]
        assert rank(W1) > 1
        for dropout in (0.0, 0.5):
            W1, b1, W2, b2 = constant_init_experiment(0, dropout, act,
                                                      seed=seed)
            assert W1.count_nonzero() == W2.count_nonzero() == 0
            assert b1.count_nonzero() == 0 and b2.abs().max() > 0.01

# %% [markdown]
# Noise in the choice of minibatches does not break the symmetry, because all units see the same minibatch.
# Random weights do, and so does dropout if $c\ne0$.
#
# The case $c=0$ is worse than the usual account, which says that zero weights make all units equal.
# With ReLU or tanh the hidden values are $\phi(0)=0$, so the gradient of $\mathbf{W}^{(2)}$, which contains them as a factor, is 0.
# The gradient of $\mathbf{W}^{(1)}$ contains $\mathbf{W}^{(2)}=\mathbf{0}$ as a factor, so it is 0 as well.
# No weight ever moves, with dropout or without; only the output bias learns, and the network predicts the class frequencies.
# A sigmoid puts out $\frac12$ at 0, so there the weights do move, all units alike:

# %%
W1, b1, W2, b2 = constant_init_experiment(0, act=torch.sigmoid)
print(f"sigmoid from zero: largest weight {W1.abs().max().item():.3f}, "
      f"rank {torch.linalg.matrix_rank(W1, rtol=1e-4).item()}")
assert W1.abs().max() > 1e-3 and torch.linalg.matrix_rank(W1, rtol=1e-4) == 1

# %% [markdown]
# ## Initialization
#
# ### The default of the framework
#
# So the start has to be random, and its scale matters.
# What does PyTorch do if you say nothing?
# Not a normal distribution with a fixed standard deviation, and not He initialization, two claims that are easy to find.
# For a layer with $n_{\mathrm{in}}$ inputs, `nn.Linear` draws weights *and* biases from the uniform distribution
#
# $$U\left(-\frac1{\sqrt{n_{\mathrm{in}}}},\ \frac1{\sqrt{n_{\mathrm{in}}}}\right),\qquad \sigma^2 = \frac1{3n_{\mathrm{in}}}. \tag{5.4.6}$$
#
# The variance $\sigma^2$ follows from the rule that $U(-a,a)$ has variance $\frac{a^2}3$.
# The source code calls `kaiming_uniform_` with the parameter `a=math.sqrt(5)`, which is where the confusion comes from: that odd value reproduces an old rule, with a sixth of the variance that Kaiming He's own rule gives for ReLU.

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
# $$o_i = \sum_{j=1}^{n_{\mathrm{in}}}w_{ij}x_j. \tag{5.4.7}$$
#
# Here $x_j$ are the $n_{\mathrm{in}}$ inputs and $o_i$ is one of the $n_{\mathrm{out}}$ outputs.
# Let the weights $w_{ij}$ be drawn independently, with mean 0 and variance $\sigma^2$, and the inputs have mean 0 and variance $\gamma^2$ and be independent of the weights and of each other.
# Then $E[o_i]=\sum_jE[w_{ij}]E[x_j]=0$, and
#
# $$\operatorname{Var}[o_i] = E[o_i^2]-E[o_i]^2 = \sum_{j=1}^{n_{\mathrm{in}}}E[w_{ij}^2]\,E[x_j^2] = n_{\mathrm{in}}\,\sigma^2\gamma^2. \tag{5.4.8}$$
#
# The square of the sum has cross terms $E[w_{ij}w_{ik}x_jx_k]$ with $j\ne k$ too.
# They vanish, because $w_{ij}$ and $w_{ik}$ are independent of each other and of the inputs, so that the factor $E[w_{ij}]E[w_{ik}]=0$ comes out.
# Look at which assumptions did the work: those about the weights.
# The inputs may depend on one another, and with $E[x_j^2]$ in place of $\gamma^2$ they need not even have mean 0.
# That will matter for ReLU.
#
# The layer keeps the variance of the signal if $n_{\mathrm{in}}\sigma^2=1$.
# Backwards, the gradient for $x_j$ is a sum over the outputs, $\sum_iw_{ij}\frac{\partial L}{\partial o_i}$ with the loss $L$, and the same computation asks for $n_{\mathrm{out}}\sigma^2=1$.
#
# ![Left: four inputs x1 to xn with blue arrows to one output oi. Right: three outputs o1 to om with orange arrows back to one input xj.](img/init-fans.svg)
#
# **Figure 5.4.6.** The forward sum has as many terms as the layer has inputs, the backward sum as many as it has outputs.

# %% [markdown]
# Both cannot hold unless $n_{\mathrm{in}}=n_{\mathrm{out}}$.
# Glorot and Bengio proposed the compromise
#
# $$\frac12\left(n_{\mathrm{in}}+n_{\mathrm{out}}\right)\sigma^2 = 1,\qquad \sigma = \sqrt{\frac2{n_{\mathrm{in}}+n_{\mathrm{out}}}}, \tag{5.4.9}$$
#
# named *Xavier* initialization after the first name of the first author.
# The distribution is either normal, $\mathcal{N}\left(0,\frac2{n_{\mathrm{in}}+n_{\mathrm{out}}}\right)$, or uniform; for $U(-a,a)$ we need $\frac{a^2}3=\sigma^2$, hence $a=\sqrt{\frac6{n_{\mathrm{in}}+n_{\mathrm{out}}}}$.
# For a layer from 500 inputs to 300 outputs the forward factor is $500\cdot\frac2{800}=1.25$ and the backward factor 0.75.

# %% [markdown]
# ### He initialization
#
# Xavier's derivation has no activation in it.
# A tanh is almost the identity near 0, so the rule works well there.
# A ReLU is not: it removes half of the signal.
# If $z$ has a symmetric distribution, then $\operatorname{ReLU}(z)^2$ equals $z^2$ for one half of the cases and 0 for the other, so
#
# $$E\left[\operatorname{ReLU}(z)^2\right] = \tfrac12E[z^2] = \tfrac12\operatorname{Var}[z]. \tag{5.4.10}$$
#
# Here $z$ is the input of the activation, a number.
# It is symmetric, because $-\mathbf{W}$ is as likely as $\mathbf{W}$.
# Now take layer $l$ of a network with zero biases and $n_{\mathrm{in}}$ inputs.
# The inputs are outputs of a ReLU, with a mean that is not 0, but (5.4.8) needs only their second moment:
#
# $$E\left[(h^{(l)})^2\right] = \tfrac12\,n_{\mathrm{in}}\,\sigma^2\,E\left[(h^{(l-1)})^2\right]. \tag{5.4.11}$$
#
# Here $h^{(l)}$ is one entry of the output of layer $l$.
# The second moment stays if $\sigma^2=\frac2{n_{\mathrm{in}}}$: this is *He* or *Kaiming* initialization.
# With Xavier's variance and equal widths each layer halves it instead: a factor $2^{-25}$ in the root mean square after 50 layers.
#
# In general one writes $\sigma=g/\sqrt{n_{\mathrm{in}}}$ with a *gain* $g$ that depends on the activation: 1 for none, $\sqrt2$ for ReLU.
# `nn.init.calculate_gain` knows them.
# Its $\frac53$ for tanh is a rule of thumb; the value that keeps the second moment of a normal input with variance 1 is $1/\sqrt{E[\tanh(z)^2]}\approx1.59$.

# %% [markdown]
# One function sets a layer up by name; a number instead of a name means a normal distribution with that standard deviation.
# It also offers an *orthogonal* matrix, whose singular values are all 1.

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
# We now measure how a signal travels: 100 random inputs through 50 layers of width 256.
# After each layer we note two numbers.
# The first is the root mean square of the activations, the *size* of the signal.
# The second is their standard deviation *across inputs*: by how much the answers to different inputs differ.
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
# A single run could mislead, because every random start is another network.
# So each curve is measured for several seeds, and we draw the range from the smallest to the largest with the median as a line.

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

# %%
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
    stay between 0.1 and 2 in both. ReLU with Xavier falls to 1e-8 in both.
    ReLU with the default keeps its size near 0.03, but its spread falls
    to 1e-17. Standard deviation 0.01 falls fastest in both.""")

# %% [markdown]
# **Figure 5.4.7.** Five starts, medians and ranges over seeds (the ranges are narrow: width averages).
# Look at the default: with ReLU it keeps the size of the activations and loses the difference between inputs, down to the rounding errors of `float64`.

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

# %% [markdown]
# The default deserves a closer look.
# With $\sigma^2=\frac1{3n}$ and biases of variance $\frac1{3n}$, (5.4.11) becomes
#
# $$E\left[(h^{(l)})^2\right] = \tfrac16\,E\left[(h^{(l-1)})^2\right]+\frac1{6n}, \tag{5.4.12}$$
#
# with $n$ the width.
# The first term is the signal: it loses five sixths of its square in every layer.
# The second comes from the biases, which are the same for all inputs.
# The sum tends to the fixed point $\frac{0.2}n$, a root mean square of 0.028 for $n=256$.
# So the activations do not vanish.
# What vanishes is their dependence on the input: differences between two inputs are multiplied by $\sqrt{1/6}=0.408$ in each layer, and behind 20 layers all inputs look alike.

# %%
# check 5.4-C8: the spread shrinks by sqrt(1/6) per layer, default + ReLU
spread = signals["ReLU, default"][1]  # (seeds, 50)
rate = (spread[:, 19] / spread[:, 9]) ** 0.1  # per layer, 10 to 20
print(f"per layer: {rate.mean().item():.3f}, expected {6**-0.5:.3f}")
assert (rate - 6**-0.5).abs().max() < 0.02
assert (spread[:, 19] < 1e-6 * signals["ReLU, default"][0, :, 19]).all()

# %% [markdown]
# In `float32`, with its seven digits, two different images are the same to such a network.
#
# The curve of He initialization tells something as well: its size stays, but its spread falls slowly.
# The directions of any two inputs become more and more alike, since a ReLU network maps all of them to vectors without negative entries.
# He initialization keeps the second moment and promises nothing about angles.
# The loss is gradual, not exponential, and 50 layers can live with it.
# The tanh curve falls slowly too, because tanh shrinks what is not small; its gain should be a little above 1.
#
# In the next figure choose activation and scale yourself.

# %%
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
# **Figure 5.4.8.** Three seeds and, dashed, the theory: $g^l$ for linear layers, $(g/\sqrt2)^l$ for ReLU; grey lines are the other gains of the slider.
# One gain is right and each other is exponentially wrong; tanh alone forgives a gain that is too large, since it cannot put out more than 1.

# %% [markdown]
# ### Gradients by layer
#
# The same starts, seen from the gradient, for networks of 20 hidden layers of width 64:

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

# %%
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
# **Figure 5.4.9.** Gradient of each weight matrix.
# Three of the six starts are out of balance by many powers of ten, and one is balanced but small.

# %%
first_to_last = {label: (runs[:, 0] / runs[:, -1])
                 for label, runs in gradients.items()}
assert (first_to_last["tanh, std 0.5"] > 100).all()  # explodes
assert (first_to_last["ReLU, default"] < 1e-5).all()  # vanishes
assert (first_to_last["sigmoid, Xavier"] < 1e-9).all()
for label in ("ReLU, He", "tanh, Xavier", "ReLU, Xavier"):  # balanced
    ratio = first_to_last[label]
    low = 0.1 if num_seeds <= 5 else 0.03  # two of 40 seeds are below 0.1
    assert ((low < ratio) & (ratio < 10)).all()
assert (gradients["ReLU, Xavier"] < 0.02).all()

# %% [markdown]
# ReLU does not protect from vanishing gradients: with the default weights the first layer gets a gradient that is more than $10^5$ times smaller than that of the last.
# A bounded activation does not protect from exploding ones: tanh with too large weights has activations between -1 and 1 and gradients in the thousands.
#
# ReLU with Xavier contradicts the common picture that vanishing gradients hit the *first* layers.
# All its layers are equally bad off.
# The gradient of $\mathbf{W}^{(l)}$ is a product of the signal that arrives from below, which has shrunk by $2^{-l/2}$, and the gradient that arrives from above, which has shrunk by $2^{-(L-l)/2}$.
# Their product is $2^{-L/2}$ for every $l$.
# The level stretch at the first layers of "ReLU, default" has the same reason; further up the biases hold the signal at a fixed size, and only the backward factor remains.
#
# For linear layers there is a start that keeps not only the mean size but every direction: orthogonal matrices.
# A product of 50 of them is orthogonal, while a product of Gaussians with the right variance has lost most directions.

# %%
names = ("orthogonal", "gaussian")
product = {name: torch.eye(64, dtype=f64) for name in names}
for layer_o, layer_g in zip(make_layers([64] * 51, "orthogonal", 0),
                            make_layers([64] * 51, 1 / 8, 0)):
    product["orthogonal"] = layer_o.weight.detach() @ product["orthogonal"]
    product["gaussian"] = layer_g.weight.detach() @ product["gaussian"]
values = {name: torch.linalg.svdvals(product[name]) for name in names}
share = (values["gaussian"] > 0.01 * values["gaussian"][0]).sum().item()
print(f"singular values within 1 % of the largest: orthogonal 64, "
      f"gaussian {share} of 64")
torch.testing.assert_close(values["orthogonal"], torch.ones(64, dtype=f64))
assert share < 32

# %% [markdown]
# Starts of this kind, tuned to the activation, have trained plain convolutional networks of 10 000 layers, without normalization and without residual connections (Xiao et al., 2018).

# %% [markdown]
# ### Training from four starts
#
# The last question is what all this means for learning.
# We train networks of 20 layers, 64 units wide, on the first images of [Fashion-MNIST](../04-linear-classification/02-image-classification-dataset.ipynb), standardized with one mean and one standard deviation for all pixels.
#
# One run of such a deep network says little, as the spread will show.
# To train several seeds at the cost of about one, we stack their parameters: $S$ weight matrices as a tensor $(S,n_{\mathrm{in}},n_{\mathrm{out}})$, and `torch.baddbmm` applies all of them with one call.
# The sum of the $S$ losses has for each network exactly the gradient of its own loss.

# %%
data = FashionMNIST(train_size=train_size, val_size=2000)
X, X_val = data.X_train.flatten(1), data.X_val.flatten(1)  # (n, 784)
mean, std = X.mean(), X.std()
X, X_val = (X - mean) / std, (X_val - mean) / std
y, y_val = data.y_train, data.y_val


def make_models(sizes, scheme, seeds):
    """Weights (S, n_in, n_out) and biases (S, 1, n_out) of S networks."""
    params = []
    nets = [[init_linear(nn.Linear(a, b), scheme, generator)
             for a, b in zip(sizes, sizes[1:])]
            for generator in map(seeded, seeds)]
    for layers in zip(*nets):  # the same layer of all networks
        params.append((torch.stack([m.weight.detach().mT for m in layers]),
                       torch.stack([m.bias.detach()[None] for m in layers])))
    return nets, [(W.requires_grad_(), b.requires_grad_())
                  for W, b in params]


def forward_all(params, act, X):
    """Outputs (S, m, q) of all networks, each for its own X[s] (m, d)."""
    for W, b in params[:-1]:
        X = act(torch.baddbmm(b, X, W))
    W, b = params[-1]
    return torch.baddbmm(b, X, W)

# %%
nets, params = make_models([784, 64, 64, 10], "default", seeds=[0, 1])
together = forward_all(params, torch.relu, X[:5].expand(2, -1, -1))
for net, output in zip(nets, together):  # (5, 10) each
    torch.testing.assert_close(forward(net, torch.relu, X[:5]), output)

# %%
def train_all(scheme, act, depth=20, lr=0.02, optimizer=torch.optim.SGD,
              epochs=max_epochs, seeds=range(num_seeds)):
    """Train networks of `depth` layers, one for each seed.

    Returns the validation accuracies (seeds, epochs) and the parameters.
    """
    sizes = [784] + [64] * (depth - 1) + [10]
    _, params = make_models(sizes, scheme, seeds)
    optimizer = optimizer([p for pair in params for p in pair], lr=lr)
    generators, accuracy = [seeded(seed) for seed in seeds], []
    for _ in range(epochs):
        order = torch.stack([torch.randperm(len(X), generator=generator)
                             for generator in generators])  # (S, n)
        for i in order.split(64, dim=1):  # (S, 64)
            o = forward_all(params, act, X[i])  # (S, 64, 10)
            loss = F.cross_entropy(o.flatten(0, 1), y[i].flatten())
            optimizer.zero_grad()
            (len(seeds) * loss).backward()  # sum over networks
            optimizer.step()
        with torch.no_grad():
            o = forward_all(params, act, X_val.expand(len(seeds), -1, -1))
        hits = (o.argmax(dim=-1) == y_val).double()  # (S, 2000)
        accuracy.append(hits.mean(dim=1))
    return torch.stack(accuracy, dim=1), params

# %% tags=["chaotic"]
runs = {"tanh, Xavier": train_all("xavier", torch.tanh)[0],
        "ReLU, He": train_all("he", torch.relu)[0],
        "ReLU, default": train_all("default", torch.relu)[0],
        "sigmoid, Xavier": train_all("xavier", torch.sigmoid)[0]}
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
    He rises to between 0.55 and 0.75 with jumps. ReLU with the default and
    the sigmoid stay at 0.1, the level of guessing, for every seed.""")

# %% [markdown]
# **Figure 5.4.10.** The same network of 20 layers from four starts, one line for each seed; the dotted line is guessing.
# Two of the starts do not learn at all, with any seed.

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

# %% [markdown]
# The network with the default weights is not just slow, it is blind: its output does not depend on the image to any useful degree, so what it can learn are the biases of the output, just as from zero weights.
#
# Why then does almost everybody get along with the default?
# Because most networks without normalization are shallow.
# Here is the accuracy against depth.

# %% tags=["rtol=0.4"]
depths = (2, 3, 5, 8, 20)
by_depth = {}
for scheme in ("he", "default"):
    rows = [train_all(scheme, torch.relu, d)[0][:, -1] for d in depths[:-1]]
    known = final["ReLU, He" if scheme == "he" else "ReLU, default"]
    by_depth[scheme] = torch.stack([*rows, known], dim=1)  # (seeds, 5)
_, ax = plt.subplots()
band(ax, depths, by_depth["he"], "ReLU, He", "C0")
band(ax, depths, by_depth["default"], "ReLU, PyTorch's default", "C1", "--")
ax.set(xlabel="number of layers", ylabel="validation accuracy",
       xticks=depths, ylim=(0, 0.9))
ax.legend(loc="center right")
d2l.describe(ax, """Accuracy against the number of layers with ranges over
    seeds. With He initialization it stays near 0.8 up to 8 layers and
    falls slowly to about 0.7 at 20. With the default it equals He at
    2 layers, falls to about 0.5 at 5, and is 0.1 from 8 layers on.""")

# %% [markdown]
# **Figure 5.4.11.** After the same five epochs: no difference at two layers, a large one at five, and nothing learned from eight layers on with the default.
# The bands show the range over seeds.

# %%
if full_run:
    two = {name: rows[:, 0].mean() for name, rows in by_depth.items()}
    assert abs(two["he"] - two["default"]) < 0.05  # shallow: no matter
    assert (by_depth["default"][:, 3:] < 0.2).all()  # 8 layers and more
    assert (by_depth["he"][:, 3].mean() > 0.6)

# %% [markdown]
# Another piece of folklore is that Adam (Section 12.10), which scales each update to about the same size whatever the gradient, makes initialization unimportant.
# It does help, because a tiny gradient is no longer a tiny step.
# It does not bring back what the signal has lost.
# We repeat two of the runs with three seeds and learning rate $10^{-3}$.

# %% tags=["rtol=0.5"]
adam = {scheme: train_all(scheme, torch.relu, lr=1e-3, seeds=range(3),
                          optimizer=torch.optim.Adam)[0][:, -1]
        for scheme in ("default", "he")}
for scheme, accuracy in adam.items():
    print(f"Adam, {scheme}: mean accuracy {accuracy.mean().item():.1f}")
if full_run and data.source == "real":
    assert adam["default"].mean() < adam["he"].mean() - 0.1
    assert adam["he"].mean() > 0.65

# %% [markdown]
# Adam lifts the default start off the ground, but in the same time it stays far below He.

# %% [markdown]
# Finally the dead units of the first part.
# A network with one hidden layer of 64 rectifiers and He initialization is trained for one epoch with four learning rates.
# Then we count the hidden units that are 0 for all training images.

# %% tags=["rtol=0.5"]
dead = {}
for lr in (0.02, 0.1, 1.0, 3.0):
    accuracy, params = train_all("he", torch.relu, 2, lr, epochs=1)
    with torch.no_grad():
        W, b = params[0]  # (S, 784, 64), (S, 1, 64)
        H = torch.relu(torch.baddbmm(b, X.expand(len(W), -1, -1), W))
    dead[lr] = (H == 0).all(dim=1).double().mean().item()
    print(f"lr {lr:4}: share dead {dead[lr]:.2f}, "
          f"accuracy {accuracy.mean().item():.1f}")
assert dead[0.02] == 0
if full_run:
    assert dead[1.0] > 0.1 and dead[3.0] > dead[1.0]

# %% [markdown]
# Steps that are too large push units below zero for all images, and no later step can repair them.
# Neither the activation nor the initialization prevents it; a smaller learning rate does, and so do activations with a slope on the negative side ([Section 5.1](01-multilayer-perceptrons.ipynb)).

# %% [markdown]
# ## Summary
#
# - The gradient of a deep layer contains one matrix for each layer above it; products of many matrices grow or shrink exponentially unless something holds them, and ReLU alone does not.
# - A product of random matrices is a random walk of logarithms: its typical size, its mean and its rank follow from the distribution, not from the eigenvalues of the factors.
# - Equal hidden units stay equal under gradient descent, whatever the minibatches; zero weights with ReLU or tanh do not move at all. A random start breaks the symmetry.
# - Xavier, $\sigma^2=2/(n_{\mathrm{in}}+n_{\mathrm{out}})$, keeps the variance of signals and gradients in linear and tanh layers; ReLU halves the second moment and needs He, $\sigma^2=2/n_{\mathrm{in}}$.
# - PyTorch's default has a sixth of He's variance, and biases that hide it: in a deep ReLU network the activations keep their size and lose the input.
# - Look at the spread across inputs as well as at the size, at several seeds rather than one, and at the gradient of every layer.

# %% [markdown]
# ## Exercises
#
# ### Exercise 5.4-1
#
# Hidden units can be permuted.
# Find another symmetry of a network with one hidden layer of ReLUs: a change of all parameters by a number $\alpha>0$ that leaves the function alone.
# Does it also leave the training alone?

# %% [markdown]
# #### Solution 5.4-1
#
# A ReLU passes positive factors through: $\operatorname{ReLU}(\alpha z)=\alpha\operatorname{ReLU}(z)$ for $\alpha>0$.
# So $\alpha\mathbf{W}^{(1)},\alpha\mathbf{b}^{(1)},\mathbf{W}^{(2)}/\alpha$ gives the same outputs, and one may choose a separate $\alpha$ for every hidden unit.
#
# The training changes.
# The gradient with respect to $\mathbf{W}^{(1)}$ is divided by $\alpha$ while the weights are multiplied by it, so one SGD step with the same learning rate changes the first layer, in proportion, by a factor $\alpha^{-2}$, and the second by $\alpha^2$.
# Initialization chooses among equal functions the one that trains well.

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
#
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
# What do the bounds say about the condition number, and how sharp are they for the 101 matrices of Figure 5.4.4?

# %% [markdown]
# #### Solution 5.4-3
#
# The largest singular value is the norm $\|\mathbf{A}\|=\max_{\|\mathbf{x}\|=1}\|\mathbf{A}\mathbf{x}\|$.
# From $\|\mathbf{A}\mathbf{B}\mathbf{x}\|\le\|\mathbf{A}\|\|\mathbf{B}\mathbf{x}\|$ follows $\|\mathbf{A}\mathbf{B}\|\le\|\mathbf{A}\|\|\mathbf{B}\|$.
# For square matrices $\|\mathbf{A}\mathbf{x}\|\ge s_{\min}(\mathbf{A})\|\mathbf{x}\|$ gives $s_{\min}(\mathbf{A}\mathbf{B})\ge s_{\min}(\mathbf{A})s_{\min}(\mathbf{B})$ in the same way, so $\kappa(\mathbf{A}\mathbf{B})\le\kappa(\mathbf{A})\kappa(\mathbf{B})$.
# The condition number of a product can thus grow exponentially with depth; only for factors with $\kappa=1$, the orthogonal matrices, is it sure not to.
#
# The bounds are far from sharp for random factors: the direction that one factor stretches most is not the one in which the next stretches most.

# %%
A = torch.randn(1000, 4, 4, generator=seeded(1), dtype=f64)
B = torch.randn(1000, 4, 4, generator=seeded(2), dtype=f64)
a, b, ab = (torch.linalg.svdvals(M) for M in (A, B, A @ B))  # (1000, 4)
slack = 1 + 1e-9  # rounding
assert (ab[:, 0] <= slack * a[:, 0] * b[:, 0]).all()
assert (slack * ab[:, 3] >= a[:, 3] * b[:, 3]).all()
bound = 101 * a[:, 0].log10().mean().item()  # of 101 such factors
print(f"log10: bound {bound:.0f}, product {top.mean().item():.0f}")
assert bound > top.mean() + 10

# %% [markdown]
# ### Exercise 5.4-4
#
# The gradients of the layers differ by factors of thousands for tanh with standard deviation 0.5.
# Repair the *update* instead of the start: scale the step of each layer so that it changes the layer's weights by the same fraction.
# What does this cure, and what not?

# %% [markdown]
# #### Solution 5.4-4
#
# With $\Delta\mathbf{W}^{(l)}=-\eta\frac{\|\mathbf{W}^{(l)}\|}{\|\mathbf{G}^{(l)}\|}\mathbf{G}^{(l)}$, where $\mathbf{G}^{(l)}$ is the gradient of layer $l$, every layer moves by the fraction $\eta$ of its norm.
# This is the core of *LARS*, layer-wise adaptive rate scaling (You et al., 2017), made for training with very large batches.
# It cures the imbalance between layers and it cannot diverge in one step.
# It does not restore information: where the activations no longer depend on the input, the direction of the gradient is of no use, however it is scaled.

# %%
layers = make_layers(sizes, 0.5, seed=0)
norms = gradient_norms(layers, torch.tanh)  # fills .grad
eta, plain, lars = 0.01, [], []
with torch.no_grad():
    for layer in layers:
        W, G = layer.weight, layer.weight.grad
        plain.append(eta * G.norm() / W.norm())
        step = eta * W.norm() / G.norm() * G
        lars.append(step.norm() / W.norm())
plain, lars = torch.stack(plain), torch.stack(lars)  # (21,)
print(f"largest / smallest relative step: SGD above "
      f"{10 ** math.floor(math.log10(plain.max() / plain.min()))}, "
      f"LARS {lars.max() / lars.min():.3f}")
torch.testing.assert_close(lars, torch.full_like(lars, eta))
assert plain.max() > 100 * plain.min()

# %% [markdown]
# ### Exercise 5.4-5
#
# Find the gain for GELU, $z\,\Phi(z)$ with the normal distribution function $\Phi$, by Monte Carlo.
# Then vary the variance of the input: is the signal of a deep GELU network as stable as that of a ReLU network?

# %% [markdown]
# #### Solution 5.4-5
#
# As in (5.4.11), the second moment is kept if $g^2E[\phi(z)^2]=1$ with $z\sim\mathcal{N}(0,1)$, so $g=1/\sqrt{E[\phi(z)^2]}$.
# For GELU this is about 1.53.
#
# ReLU has a property that GELU lacks: scaling the input by a number scales the output by the same number.
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
#
# Equation (5.4.4) with $s^2=\frac1n$ gives $\lambda_1=\frac12\left[\log\frac2n+\psi\left(\frac n2\right)\right]$.
# For large arguments $\psi(x)\approx\log x-\frac1{2x}$, so $\lambda_1\approx-\frac1{2n}$.
# After $L$ factors the logarithm of the length has the mean $-\frac L{2n}$ and the variance $\frac L{2n}$: nothing to fear while the depth is small against the width.
# For width 256 and 50 layers $\frac L{2n}$ is 0.1.

# %%
for n in (4, 16, 64):
    exact = exponents(n, n**-0.5)[0].item()
    c = torch.distributions.Chi2(torch.tensor(float(n)))
    torch.manual_seed(n)
    sample = (c.sample((200_000,)) / n).log() / 2  # steps of the walk
    print(f"n = {n:2}: exact {exact:.4f}, -1/(2n) = {-1 / (2 * n):.4f}")
    assert abs(exact * 2 * n + 1) < 0.4 / n  # error of order 1 / n
    assert abs(sample.mean().item() - exact) < 0.006 / n**0.5
    assert abs(sample.var().item() * 2 * n - 1) < 2 / n

# %% [markdown]
# ## Sources
#
# - S. Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen*, diploma thesis, 1991; Y. Bengio, P. Simard and P. Frasconi, Learning long-term dependencies with gradient descent is difficult, 1994, [doi:10.1109/72.279181](https://doi.org/10.1109/72.279181): vanishing gradients.
# - C. M. Newman, The distribution of Lyapunov exponents: exact results for random matrices, 1986, [doi:10.1007/BF01464284](https://doi.org/10.1007/BF01464284): equation (5.4.4).
# - X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, [proceedings.mlr.press/v9/glorot10a](https://proceedings.mlr.press/v9/glorot10a.html): Xavier initialization.
# - K. He, X. Zhang, S. Ren and J. Sun, Delving deep into rectifiers, 2015, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): He initialization.
# - A. M. Saxe, J. L. McClelland and S. Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2014, [arXiv:1312.6120](https://arxiv.org/abs/1312.6120): orthogonal initialization; L. Xiao et al., Dynamical isometry and a mean field theory of CNNs, 2018, [arXiv:1806.05393](https://arxiv.org/abs/1806.05393): 10 000 layers.
# - B. Poole et al., Exponential expressivity in deep neural networks through transient chaos, 2016, [arXiv:1606.05340](https://arxiv.org/abs/1606.05340): size and correlation of signals.
# - R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, 2013, [arXiv:1211.5063](https://arxiv.org/abs/1211.5063): gradient clipping.
# - Y. You, I. Gitman and B. Ginsburg, Large batch training of convolutional networks, 2017, [arXiv:1708.03888](https://arxiv.org/abs/1708.03888): LARS.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
