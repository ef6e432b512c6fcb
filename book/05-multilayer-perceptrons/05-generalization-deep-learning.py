# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         num_seeds: 5
#         test_size: 10000
#       smoke:
#         num_seeds: 2
#         num_hiddens: 64
#         memo_epochs: 6
#         noise_epochs: 8
#     rehearsal: {num_seeds: 0.4, test_size: 0.1}
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
# # 5.5 Generalization in deep learning
#
# A network with four hundred thousand weights learns five hundred images by heart, even if their labels were drawn by lot.
# The same network, trained in the same way on the true labels of the same images, is right on four of five new ones.
# No theory that looks only at the network can tell the two cases apart, so what can?
# This section turns the main claims about generalization in deep learning into experiments that run in seconds, and sorts out which explanations survive.

# %% [markdown]
# **You will**
#
# - let a network memorize random labels, and say which classical bounds this defeats and what weight decay does about it;
# - produce the peak of double descent, and remove it with one line of regularization;
# - predict which of infinitely many perfect fits gradient descent chooses;
# - see a network learn the right labels before the wrong ones, and stop it in time with a reusable `EarlyStopping`.
#
# **Cost**: about a minute on a CPU, most of it for training every network from several seeds; a download of 31 MB, once.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.colors import ListedColormap
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST
from d2l_helpers.chapters.linear_regression import ridge

d2l.use_style()
f64 = torch.float64  # interpolation needs every digit
norm = torch.linalg.vector_norm  # of all entries

# %% tags=["parameters"]
num_seeds = 3  # networks trained for each curve
num_hiddens = 512  # hidden units of the networks on images
memo_epochs = 60  # epochs on random labels
noise_epochs = 40  # epochs on partly wrong labels
test_size = 1000  # test images

# %% [markdown]
# ## Overfitting and regularization revisited
#
# Work on a model has two phases: first fit the training data, then estimate the error on held-out data.
# The difference of the two errors is the *generalization gap*,
#
# $$\text{gap} = R[f]-R_{\mathrm{emp}}[f], \tag{5.5.1}$$
#
# where $f$ is the trained model, $R[f]$ its expected error on a new example, estimated by the error on held-out data, and $R_{\mathrm{emp}}[f]$ its error on the training examples; all three are numbers.
# [Section 3.6](../03-linear-regression/06-generalization.ipynb) called a large gap overfitting; the classical cures reduce what the model can express.
#
# For deep networks the theory of both phases is incomplete.
# Practice uses restrictions (weight decay, dropout) side by side with enlargements (more layers, wider layers, longer training).
#
# That a model reproduces its training data says little.
# Here are 45 points in the plane whose class depends on their direction from the origin, and three models that answer with the class of the *nearest* stored point.

# %%
def pinwheel(n, rng):
    """Points (n, 2) around the origin; class 0, 1, 2 by direction."""
    Z = torch.randn(n, 2, generator=rng, dtype=f64)
    angle = torch.atan2(Z[:, 1], Z[:, 0]) + math.pi  # in [0, 2 pi]
    return Z, (angle * 3 / (2 * math.pi)).long().clamp(max=2)


views = {"Euclidean": lambda Z: Z,
         "$x_1$ counts tenfold": lambda Z: Z * torch.tensor([10.0, 1.0]),
         "direction only": lambda Z: F.normalize(Z, dim=-1)}


def nearest_label(points, labels, queries, view):
    """1-NN: label of the point nearest to each query, seen by `view`."""
    gaps = torch.cdist(view(queries), view(points))  # (queries, points)
    return labels[gaps.argmin(dim=1)]


# %% tags=["hide-input"]
rng = torch.Generator().manual_seed(1)
Z, c = pinwheel(45, rng)
Z_new, c_new = pinwheel(2000, rng)
side = torch.linspace(-2.6, 2.6, 120, dtype=f64)
grid = torch.cartesian_prod(side, side)  # (14400, 2)
tints = ListedColormap(["#a9cfe5", "#f3c6a5", "#a8dccb"])
_, axes = plt.subplots(1, 3, figsize=(7.4, 2.9), sharey=True)
plane_errors = []
for ax, (name, view) in zip(axes, views.items()):
    assert torch.equal(nearest_label(Z, c, Z, view), c)  # memorized
    wrong = nearest_label(Z, c, Z_new, view) != c_new
    plane_errors.append(wrong.double().mean().item())
    regions = nearest_label(Z, c, grid, view).view(120, 120).T
    ax.imshow(regions, origin="lower", extent=(-2.6, 2.6, -2.6, 2.6),
              cmap=tints)
    ax.grid(False)
    for k, (mark, color) in enumerate((("o", "C0"), ("s", "C1"),
                                       ("^", "C3"))):
        ax.plot(*Z[c == k].T, mark, ms=4.5, color=color, mec="white",
                mew=0.5)
    ax.set(title=f"{name}\nerror {plane_errors[-1]:.2f}", xlabel="$x_1$",
           xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
axes[0].set_ylabel("$x_2$")
assert plane_errors[2] < plane_errors[0] < plane_errors[1]
d2l.describe(axes, """Decision regions of the nearest neighbour for the same
    45 points of three classes under three metrics. Euclidean distance
    gives ragged sectors, a stretched metric gives vertical strips, and a
    metric that compares directions gives clean sectors.""")

# %% [markdown]
# **Figure 5.5.1.** Nearest neighbours under three metrics; the numbers are errors on new points.
# All three have training error 0; they differ in what "near" means.

# %% [markdown]
# ### No free lunch
#
# The training error, 0 for all three, cannot tell which of them is right.
# Wolpert's *no-free-lunch* theorem (1996) says that, averaged over all possible truths, all learners are equally good on inputs that they have not seen.
# A small case can be counted out.
# There are 8 inputs of three bits and $2^8=256$ ways to label them.
# Show a learner the labels of five inputs and ask for the other three, for each of the 256 truths.

# %%
inputs = torch.tensor(list(itertools.product((0, 1), repeat=3)))  # (8, 3)
truths = torch.tensor(list(itertools.product((0, 1), repeat=8)))  # (256, 8)
seen, new = [0, 1, 2, 4, 7], [3, 5, 6]
flips = (inputs[new][:, None] != inputs[seen]).sum(dim=-1)  # (3, 5)
near = (flips == flips.min(dim=1, keepdim=True).values).double()  # 0 or 1


def neighbours(labels):
    """Majority of the nearest seen inputs: (k, 5) -> (k, 3)."""
    return (labels.double() @ near.T > near.sum(dim=1) / 2).long()


learners = {
    "nearest neighbours": neighbours,
    "their opposite": lambda labels: 1 - neighbours(labels),
    "majority of all five": lambda labels: (
        labels.double().mean(dim=1, keepdim=True) > 0.5).long(),
    "always 0": lambda labels: torch.zeros(len(labels), 3).long()}


def off_training(learner, truths):
    """Accuracy on the three unseen inputs, averaged over the truths."""
    return (learner(truths[:, seen]) == truths[:, new]).double().mean().item()


# %% [markdown]
# The second column averages over those 104 of the 256 truths that are *threshold functions*, 1 on one side of a plane and 0 on the other.

# %%
weights = torch.tensor(list(itertools.product(range(-2, 3), repeat=3)))
z = weights @ inputs.T  # (125, 8) weighted sums of the bits
thresholds = torch.cat([z > k + 0.5 for k in range(-7, 7)]).long()
linear = thresholds.unique(dim=0)  # (104, 8)
print("                      all truths   threshold functions")
for name, learner in learners.items():
    everywhere = off_training(learner, truths)
    print(f"{name:22}{everywhere:9.3f}{off_training(learner, linear):18.3f}")
    assert everywhere == 0.5
assert len(linear) == 104
assert off_training(neighbours, linear) > 0.65

# %% [markdown]
# Over all truths every learner is right in half of the cases, because for any labels of the five, each labelling of the other three occurs once.
# Nearest neighbours win as soon as the world has a structure that fits them.
#
# So every learner that works relies on assumptions about the world.
# They are called its *inductive bias*: the preference for some functions over others that agree with the same data.
# Asking why deep networks generalize means asking what this bias is, and whether it sits in the architecture, the training algorithm or the data.

# %% [markdown]
# ### A network that memorizes
#
# Zhang and co-authors (2016) asked what a network does if the labels are random.
# We repeat their experiment with one hidden layer of 512 units, Adam, and 500 images of Fashion-MNIST, with their true labels and with labels drawn by lot.

# %%
device = d2l.try_device(quiet=True)
data = FashionMNIST(train_size=10_000, val_size=test_size)
real = data.source == "real"
X, y = data.X_train.flatten(1).to(device), data.y_train.to(device)
X_test, y_test = data.X_val.flatten(1).to(device), data.y_val.to(device)
measured = (real and num_hiddens == 512 and memo_epochs >= 60
            and noise_epochs >= 40)  # the numbers below hold for this case


def make_mlp(seed, hiddens=num_hiddens):
    """784 inputs, one hidden layer, 10 scores; initialized by `seed`."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, hiddens), nn.ReLU(),
                         nn.Linear(hiddens, 10)).to(device)


# %%
def fit(net, X, y, epochs, seed, lr=1e-3, batch_size=50, wd=0.0,
        each_epoch=None, optimizer=torch.optim.Adam):
    """Train a net; `each_epoch(epoch)` may return True to stop."""
    optimizer = optimizer(net.parameters(), lr=lr, weight_decay=wd,
                          fused=True)
    rng = torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(X), generator=rng).to(device)
        for X_batch, y_batch in zip(X[order].split(batch_size),
                                    y[order].split(batch_size)):
            loss = F.cross_entropy(net(X_batch), y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if each_epoch and each_epoch(epoch):
            break


@torch.no_grad()
def accuracy(net, X, y):
    return (net(X).argmax(dim=1) == y).float().mean().item()


# %% [markdown]
# `memorize` trains one network on `n` images and records the training accuracy every five epochs, the accuracy on new images at the end, and the relative distance that the weights have moved.

# %%
def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def memorize(n, labels, wd=0.0, seed=0, epochs=memo_epochs, **options):
    """Train on n images; `labels` is "true" or "random"."""
    rng = torch.Generator().manual_seed(seed)
    lot = torch.randint(10, (n,), generator=rng).to(device)
    target = y[:n] if labels == "true" else lot  # (n,)
    net, curve = make_mlp(seed), []
    start = flat(net)

    def record(epoch):
        if epoch % 5 == 0:
            curve.append(accuracy(net, X[:n], target))

    fit(net, X[:n], target, epochs, seed, wd=wd, each_epoch=record,
        **options)
    moved = (norm(flat(net) - start) / norm(start)).item()
    return {"curve": curve, "train": accuracy(net, X[:n], target),
            "test": accuracy(net, X_test, y_test), "moved": moved}


# %%
seeds = range(num_seeds)
adamw = {"optimizer": torch.optim.AdamW}
plans = {"true labels": ("true", 0, seeds, {}),
         "random, decay 0": ("random", 0, seeds, {}),
         "random, Adam 0.001": ("random", 1e-3, seeds[:2], {}),
         "random, Adam 0.1": ("random", 0.1, seeds[:2], {}),
         "random, AdamW 0.1": ("random", 0.1, seeds[:2], adamw)}
runs = {name: [memorize(500, kind, wd, s, **options) for s in some]
        for name, (kind, wd, some, options) in plans.items()}

# %% tags=["rtol=0.1"]
print("                            training   new images")
for name, group in runs.items():
    train, test = (torch.tensor([run[k] for run in group])
                   for k in ("train", "test"))
    print(f"{name:28}{train.mean().item():6.2f}{test.mean().item():12.2f}")

# %%
# check 5.5-C4: random labels are learned by heart; what decay does
low, high = {}, {}
for name, group in runs.items():
    fitted = [max(run["curve"], default=0) for run in group]
    low[name], high[name] = min(fitted), max(fitted)
    test = [run["test"] for run in group]
    if name != "true labels":
        assert sum(test) / len(test) < 0.16  # guessing gives 0.1
if measured:
    assert low["true labels"] >= 0.98 and low["random, decay 0"] >= 0.97
    assert low["random, Adam 0.001"] >= 0.95
    assert high["random, Adam 0.1"] < 0.3  # the same number, coupled
    assert low["random, AdamW 0.1"] >= 0.95  # and decoupled
    assert all(0.74 < run["test"] < 0.84 for run in runs["true labels"])

# %% tags=["rtol=0.3", "hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 3.2), width_ratios=(1.4, 1))
styles = (("C3", "-"), ("C1", "-"), ("C2", "--"), ("C5", ":"), ("C4", "-."))
for place, (group, (color, ls)) in enumerate(zip(runs.values(), styles)):
    for i, run in enumerate(group):
        epochs = range(5, 5 * len(run["curve"]) + 1, 5)
        axes[0].plot(epochs, run["curve"], color=color, ls=ls, lw=1.3,
                     label=list(runs)[place] if i == 0 else None)
        x = place + 0.18 * (i - (len(group) - 1) / 2)  # side by side
        axes[1].plot([x, x], [run["test"], run["train"]], color=color,
                     lw=0.8)
        axes[1].plot(x, run["train"], "o", color=color, ms=5)
        axes[1].plot(x, run["test"], "o", color=color, ms=5, mfc="white")
axes[0].set(xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.05))
axes[0].legend(loc="center right", fontsize=8)
axes[1].axhline(0.1, color="black", ls=":", lw=1)
axes[1].set(ylabel="accuracy", ylim=(0, 1.05), xlim=(-0.6, 4.6))
axes[1].set_xticks(range(5), labels=["true", "rand.", "Adam\n0.001",
                                     "Adam\n0.1", "AdamW\n0.1"])
d2l.describe(axes, """Left: training accuracy against epochs, one line for
    each seed. True labels start far above random ones and reach 1 first;
    random labels start at about 0.3 and reach nearly 1 as well, without
    weight decay, with Adam's at 0.001 and with AdamW's at 0.1. Adam's at
    0.1 stays near 0.15. Right: filled marks, the training accuracy, are
    near 1 but for Adam 0.1; open marks, the accuracy on new images, are
    near 0.8 for true labels, near 0.1 for random ones, and below that for
    Adam 0.1.""")

# %% [markdown]
# **Figure 5.5.2.** One line for each seed.
# Right, the end of training: filled marks are the training accuracy, open ones the accuracy on new images, and the line between them is the gap; dotted: guessing.

# %% [markdown]
# The network has more than 400 000 weights, so it *can* store 500 labels; the surprise is that plain training finds the way there.
#
# Is weight decay an obstacle?
# That depends on its strength and on how it is coupled to the optimizer.
# The argument `weight_decay` of `Adam` adds $\lambda\mathbf{w}$ to the gradient, and Adam then divides by the typical size of the gradient; at 0.001 nearly all random labels are fitted, at 0.1 almost none; true labels are then still learned, but less well (Exercise 5.5-1).
# `AdamW` multiplies the weights by $1-\eta\lambda$ directly, outside the gradient, in each step; at $\lambda=0.1$ and $\eta=0.001$ that takes 6 % in 600 steps, and the labels are fitted.
#
# One difference is visible: true labels are learned faster (Exercise 5.5-1).
# On new images `Adam` at 0.1 lies even below guessing, by accident: averaged over all lots and initial weights, a network trained on random labels is right on one new image in ten, because no class is preferred.

# %% [markdown]
# Memorization is not a privilege of deep networks.
# A linear model does it too: these 500 images with 784 pixels each are linearly independent, so for any wanted scores on them there are weights that give exactly these scores.

# %% tags=["rtol=0.1"]
linear_runs = []
for seed in seeds:
    rng = torch.Generator().manual_seed(seed)
    lot = torch.randint(10, (500,), generator=rng).to(device)
    torch.manual_seed(seed)
    net = nn.Linear(784, 10).to(device)
    fit(net, X[:500], lot, 200, seed, lr=2e-2, batch_size=100)
    linear_runs.append((accuracy(net, X[:500], lot),
                        accuracy(net, X_test, y_test)))
train, test = torch.tensor(linear_runs).T  # (seeds,) each
print(f"softmax regression on random labels: training "
      f"{train.mean().item():.2f}, new images {test.mean().item():.2f}")

# %%
# check 5.5-C5: a linear model fits 500 random labels as well
assert train.min() > 0.95
assert not real or train.min() >= 0.998
assert not real or torch.linalg.matrix_rank(X[:500].cpu().double()) == 500
assert test.mean() < 0.16

# %% [markdown]
# ### What this rules out
#
# Classical theory bounds the gap (5.5.1) by the richness of the class of functions from which training may choose, measured in [Section 4.6](../04-linear-classification/06-generalization-classification.ipynb) by the VC dimension.
# A finer measure is the *Rademacher complexity*: how well can the class agree with coin tosses?
# For classifiers $f$ with values $\pm1$ it is
#
# $$\begin{gathered} \operatorname{Rad}(\mathcal{F}) = E_{\boldsymbol\sigma}\left[\max_{f\in\mathcal{F}}\frac1n\sum_{i=1}^n\sigma_if(\mathbf{x}^{(i)})\right], \\[4pt] R[f]-R_{\mathrm{emp}}[f]\le\operatorname{Rad}(\mathcal{F})+3\sqrt{\frac{\log(2/\delta)}{2n}}. \end{gathered} \tag{5.5.2}$$
#
# $\mathcal{F}$ is the class, $\mathbf{x}^{(1)},\dots,\mathbf{x}^{(n)}$ are the training inputs, $\boldsymbol\sigma\in\{-1,1\}^n$ are independent fair coins, and the inequality holds for all $f\in\mathcal{F}$ at once with probability $1-\delta$.
# Fitting random labels measures this quantity, from below: the maximum is at least the agreement that training finds.
# If the class can fit every labelling, the maximum is 1 for every $\boldsymbol\sigma$, and the bound says that the error is at most 1 plus something, which we knew.
#
# A bound that depends on the class alone has the same value for random labels, where the gap is 0.9, as for true labels, where it is about 0.2, so it must be at least 0.9 in both cases.
# Restricting the class by a bound on the $\ell_2$ norm of the weights does not help as long as random labels can be fitted within the restriction.
# An explanation must involve the labels or the way in which training chooses among the many functions that fit.

# %% [markdown]
# ### Double descent
#
# Many deep networks reach zero training error, and yet their error on new data keeps falling when they are made larger or trained longer.
# Plotted against complexity, the error may fall, rise and fall again: *double descent* (Belkin et al. 2019, who named it; Nakkiran et al. 2021 for deep networks, most clearly with label noise).
#
# Take one hidden layer with random weights that stay as they are, and train the output layer only:
#
# $$\hat y = \boldsymbol\phi(\mathbf{x})^\top\mathbf{w},\qquad\boldsymbol\phi(\mathbf{x}) = \operatorname{ReLU}(\mathbf{V}^\top\mathbf{x}). \tag{5.5.3}$$
#
# $\mathbf{x}\in\mathbb{R}^d$ is the input, $\mathbf{V}\in\mathbb{R}^{d\times N}$ has independent normal entries of variance $1/d$ that are never trained, $\boldsymbol\phi(\mathbf{x})\in\mathbb{R}^N$ are the $N$ *random features*, and $\mathbf{w}\in\mathbb{R}^N$ are the weights to be learned.
# Training is least squares; if several $\mathbf{w}$ fit equally well we take the one of smallest norm.

# %%
def random_relu_features(X, N, seed):
    """N fixed random features of the rows of X: (n, d) -> (n, N)."""
    rng = torch.Generator().manual_seed(seed)
    V = torch.randn(X.shape[1], N, generator=rng, dtype=X.dtype)
    return torch.relu(X @ V / math.sqrt(X.shape[1]))


def min_norm_fit(P, y):
    """Least squares; among several solutions the one of least norm."""
    return torch.linalg.lstsq(P, y, driver="gelsd").solution


# %% [markdown]
# The truth is linear, $y=\mathbf{a}^\top\mathbf{x}+\epsilon$ with $\|\mathbf{a}\|=1$, normal inputs with $d=10$, and noise of standard deviation 0.5 in the $n=40$ training labels.
# Errors on new inputs are measured against the noise-free truth; always answering 0 costs 1.

# %%
def linear_task(n, d, seed, noise):
    """Noisy training and clean test examples of a linear truth."""
    rng = torch.Generator().manual_seed(seed)
    a = torch.randn(d, 1, generator=rng, dtype=f64)
    a = a / norm(a)
    X = torch.randn(n, d, generator=rng, dtype=f64)
    X_new = torch.randn(1000, d, generator=rng, dtype=f64)
    y = X @ a + noise * torch.randn(n, 1, generator=rng, dtype=f64)
    return X, y, X_new, X_new @ a


def double_descent(n, d, widths, seeds, penalty=0.0, noise=0.5):
    """Test error, training error, norm: (len(widths), len(seeds), 3)."""
    rows = []
    for N, seed in itertools.product(widths, seeds):
        X, y, X_new, y_new = linear_task(n, d, seed, noise)
        P, P_new = (random_relu_features(Z, N, 1000 + seed)
                    for Z in (X, X_new))  # (n, N), (1000, N)
        w = (ridge(P, y, penalty / n) if penalty
             else min_norm_fit(P, y))  # (N, 1)
        rows.append((((P_new @ w - y_new) ** 2).mean(),
                     ((P @ w - y) ** 2).mean(), norm(w)))
    return torch.tensor(rows).view(len(widths), len(seeds), 3)


# %%
widths = [5, 10, 15, 20, 25, 30, 34, 36, 38, 40, 42, 44, 48, 55, 70, 100,
          200, 400, 1000]
plain = double_descent(40, 10, widths, range(20))  # (19, 20, 3)
penalized = double_descent(40, 10, widths, range(20), penalty=1.0)
median = dict(zip(widths, plain.quantile(0.5, dim=1)))  # N -> (3,)
for N in (10, 36, 40, 44, 100, 1000):
    print(f"N = {N:4}: test error {median[N][0].item():5.2f}")
exact = double_descent(40, 10, [1000], range(20), noise=0.0)[0, :, 0]
print(f"N = 1000, labels without noise: {exact.median().item():.2f}")

# %%
# check 5.5-C1: a peak where N = n, and beyond it the best fits
errors = {N: v[0].item() for N, v in median.items()}
assert max(errors, key=errors.get) == 40
assert errors[40] / min(errors.values()) > 10
lowest = min(errors[N] for N in widths if N < 40)  # before the peak
assert min(errors, key=errors.get) > 40 and errors[1000] < 0.8 * lowest
assert exact.median() < errors[1000] / 10  # fitted noise is not harmless
assert max(widths, key=lambda N: median[N][2]) == 40  # largest norm
for N, group in zip(widths, plain):
    assert group[:, 1].max() < 1e-12 if N >= 40 else group[:, 1].min() > 1e-6

# %% [markdown]
# Now the same with a ridge penalty: we minimize $\|\mathbf{P}\mathbf{w}-\mathbf{y}\|^2+\lambda\|\mathbf{w}\|^2$ with $\lambda=1$, where $\mathbf{P}\in\mathbb{R}^{n\times N}$ holds the features of the training inputs and $\mathbf{y}\in\mathbb{R}^{n\times1}$ their labels.

# %%
# check 5.5-C2: a ridge penalty removes the peak
tamed = penalized[..., 0].quantile(0.5, dim=1)  # (19,)
wide_enough = torch.tensor(widths) >= 20
low, high = tamed[wide_enough].min(), tamed[wide_enough].max()
print(f"with ridge: median errors from {low:.2f} to {high:.2f} for N >= 20")
assert 0.2 < low and high < 0.55
assert tamed[widths.index(40)] < errors[40] / 50 and high < 2 * low
norms = penalized[..., 2].quantile(0.5, dim=1)  # (19,)
for values in (tamed, norms):  # no rise towards 40
    assert values[widths.index(40)] < 1.1 * values[widths.index(30)]

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 3.1))
for values, color, ls, name in (
        (plain, "C1", "-", "smallest norm"),
        (penalized, "C0", "--", r"ridge, $\lambda=1$")):
    for ax, k in zip(axes, (0, 2)):
        q = values[..., k].quantile(
            torch.tensor([0.25, 0.5, 0.75], dtype=values.dtype), dim=1)
        ax.fill_between(widths, q[0], q[2], color=color, alpha=0.2, lw=0)
        ax.plot(widths, q[1], color=color, ls=ls, label=name)
for ax, what in zip(axes, ("error on new inputs", "norm of w")):
    ax.axvline(40, color="#777777", lw=1, zorder=1)
    ax.set(xscale="log", yscale="log", xlabel="number of features N",
           ylabel=what)
    ax.set_xticks([10, 40, 100, 1000], labels=["10", "40", "100", "1000"])
    ax.minorticks_off()
axes[0].axhline(1, color="black", ls=":", lw=1)
axes[0].text(1000, 1.08, "always 0", ha="right", va="bottom")
axes[0].legend(loc="upper right")
d2l.describe(axes, """Error on new inputs and norm of the solution against
    the number of random features, on logarithmic axes. Without penalty
    both peak sharply at 40 features, the number of examples, and fall
    again; far beyond, the error is lower than anywhere before the peak.
    With a ridge penalty neither curve has a peak at 40.""")

# %% [markdown]
# **Figure 5.5.3.** Median and quartiles over 20 data sets of 40 examples (grey line: as many features as examples).
# The error peaks where the norm does; a penalty removes both peaks at 40.

# %% [markdown]
# With $N=n$ exactly one $\mathbf{w}$ fits all labels, noise included, and its norm is enormous.
# Each further feature adds ways to fit, and the smallest norm falls.
# From $N=40$ on the training error is 0 everywhere, so it says nothing; what changes is *which* perfect fit we get.
#
# With the penalty the error changes by less than a factor of two from 20 to 1000 features.
# So here the peak is a symptom of a badly conditioned problem without regularization.
# For certain linear regressions with isotropic data Nakkiran and co-authors (2020) prove that the *best* penalty makes the error fall monotonically, and in their experiments a tuned penalty also mitigates the peak for networks.
#
# The noise does harm even at $N=1000$: without it in the labels the error is less than a tenth of this.
# That fitted noise does no harm, *benign overfitting*, has conditions: for the smallest norm in linear regression Bartlett and co-authors (2020) ask for many more directions of small variance than examples.

# %% [markdown]
# ### The bias of gradient descent
#
# Gradient descent finds the fit of smallest norm without being asked.
# Consider least squares $\frac12\|\mathbf{X}\mathbf{w}-\mathbf{y}\|^2$ with more weights than examples.
# The gradient $\mathbf{X}^\top(\mathbf{X}\mathbf{w}-\mathbf{y})$ is a combination of the rows of $\mathbf{X}$.
# So gradient descent can change $\mathbf{w}$ only within the space that the training inputs span.
# For a small enough step the limit is
#
# $$\mathbf{w}_\infty = \mathbf{X}^+\mathbf{y}+(\mathbf{I}-\mathbf{X}^+\mathbf{X})\,\mathbf{w}_0. \tag{5.5.4}$$
#
# $\mathbf{X}\in\mathbb{R}^{n\times d}$ with $n<d$ has independent rows, $\mathbf{y}\in\mathbb{R}^{n\times1}$, $\mathbf{X}^+\in\mathbb{R}^{d\times n}$ is the pseudoinverse, $\mathbf{I}\in\mathbb{R}^{d\times d}$ the identity, and $\mathbf{w}_0,\mathbf{w}_\infty\in\mathbb{R}^{d\times1}$.
# $\mathbf{X}^+\mathbf{y}$ is the interpolating solution of smallest norm, and $\mathbf{I}-\mathbf{X}^+\mathbf{X}$ projects onto the directions that no training input sees.
# From $\mathbf{w}_0=\mathbf{0}$ the smallest norm results; in general the interpolant *closest to the start*.
# For $\mathbf{X}=(2,1)$ and $\mathbf{y}=2$ all $\mathbf{w}$ with $2w_1+w_2=2$ fit, and $\mathbf{X}^+\mathbf{y}=\frac2{5}(2,1)^\top=(0.8,0.4)^\top$.

# %%
def descend(X, y, w, steps):
    """Gradient descent on least squares; returns all iterates."""
    lr, path = 1 / torch.linalg.matrix_norm(X, 2) ** 2, [w]
    for _ in range(steps):
        path.append(path[-1] - lr * X.mT @ (X @ path[-1] - y))
    return path


rng = torch.Generator().manual_seed(0)
A = torch.randn(10, 40, generator=rng, dtype=f64)  # 10 equations
b = torch.randn(10, 1, generator=rng, dtype=f64)
w_0 = torch.randn(40, 1, generator=rng, dtype=f64)  # 40 unknowns
pinv = torch.linalg.pinv(A)  # (40, 10)

# %%
# check 5.5-C3: gradient descent ends at the interpolant next to its start
from_zero = descend(A, b, torch.zeros_like(w_0), 2000)[-1]
torch.testing.assert_close(from_zero, pinv @ b, rtol=0, atol=1e-10)
from_start = descend(A, b, w_0, 2000)[-1]
limit = pinv @ b + w_0 - pinv @ (A @ w_0)
torch.testing.assert_close(from_start, limit, rtol=0, atol=1e-10)
assert (A @ from_start - b).abs().max() < 1e-10
assert norm(from_start) > 2 * norm(from_zero)

# %% tags=["hide-input"]
one = torch.tensor([[2.0, 1.0]], dtype=f64)  # the equation 2 w1 + w2 = 2
_, ax = plt.subplots(figsize=(4.6, 3.4))
line = torch.linspace(-0.6, 1.6, 2, dtype=f64)
ax.plot(line, 2 - 2 * line, color="black", lw=1.2)
ax.text(-0.1, 2.35, "training error 0")
for i, start in enumerate(([0.0, 0.0], [-0.6, 1.4], [1.5, 1.3])):
    w = torch.tensor(start, dtype=f64)[:, None]
    slow = [w]
    for _ in range(25):
        slow.append(slow[-1] - 0.06 * one.T @ (one @ slow[-1] - 2))
    track = torch.cat(slow, dim=1)  # (2, 26)
    ax.plot(*track, "o-", ms=3, lw=1, color=f"C{i}")
    ax.plot(*track[:, 0], "s", ms=8, color=f"C{i}")
    ax.plot(*track[:, -1], "*", ms=13, color=f"C{i}", zorder=3)
ax.annotate("smallest norm", (0.8, 0.4), xytext=(-0.5, -0.5),
            arrowprops={"arrowstyle": "-", "color": "black"})
ax.set(xlabel="$w_1$", ylabel="$w_2$", aspect="equal", xlim=(-0.9, 2),
       ylim=(-0.7, 2.6))
d2l.describe(ax, """A line of solutions in the plane of two weights. From
    three starting points, gradient descent moves at right angles to the
    line and ends where it meets it; the path from the origin ends at the
    point of smallest norm.""")

# %% [markdown]
# **Figure 5.5.4.** One equation, two weights.
# All points of the line fit; gradient descent takes the nearest one to its start (squares).

# %% [markdown]
# No penalty was in the objective, and yet the solution is regularized, by an *implicit bias* of the algorithm.
# For linear classification of separable data with the logistic loss, it is the largest margin (Soudry et al. 2018); for deep networks only pieces are known.
# In the runs of Figure 5.5.2, too, true and random labels led the same algorithm to different places: after as many steps on as many images the weights had travelled farther for random labels.

# %%
distance = {name: torch.tensor([run["moved"] for run in group])
            for name, group in runs.items()}
farther = distance["random, decay 0"] > distance["true labels"]
print("moved farther for random than for true labels:",
      f"{farther.sum().item()} of {num_seeds} seeds")
assert not measured or farther.all()

# %% [markdown]
# ## Inspiration from nonparametrics
#
# A network has a fixed list of parameters, but behaves more like a *nonparametric* method, whose complexity grows with the data.
# The purest of them is *$k$-nearest neighbours*: store all training examples, and answer with the majority of the $k$ stored examples that are closest to the new one.
# With $k=1$ it is a memorizer: its training error is 0 whatever the labels are, unless two equal inputs have different labels.
#
# ### What a memorizer can hope for
#
# Let the number $n$ of examples go to infinity.
# The nearest neighbour of $x$ then lies so close that it has the same label probabilities as $x$.
# If its label is 1 with probability $\eta$ and 0 otherwise, $x$ and its neighbour disagree with probability $2\eta(1-\eta)$, whereas the best possible classifier is wrong with probability $\min(\eta,1-\eta)$.
# For two classes Cover and Hart (1967) concluded
#
# $$R^*\le R_{\mathrm{1NN}}\le2R^*(1-R^*). \tag{5.5.5}$$
#
# $R^*$ is the error of the best possible classifier and $R_{\mathrm{1NN}}$ the limit of the error of the nearest neighbour; both are numbers in $[0,\frac12]$.
# So nearest neighbours with $k=1$ reach $R^*$ in the end, they are *consistent*, if $R^*=0$; where labels are noisy, the limit is in general larger, up to nearly twice as large.
# With more and more neighbours that are yet a vanishing share, $k\to\infty$ and $k/n\to0$, the method is consistent for every distribution (Stone 1977).
#
# Take $x$ uniform on $[0,1]$, class 1 above $\frac12$, each label flipped with probability $\eta$; then $R^*=\eta$.

# %%
def flipped_labels(n, eta, rng):
    x = torch.rand(n, 1, generator=rng, dtype=f64)
    noise = torch.rand(n, generator=rng) < eta
    return x, (x[:, 0] > 0.5) ^ noise  # (n, 1), (n,) of bool


def knn_error(n, eta, k, seed, test=2000):
    """Error of the k nearest neighbours on `test` new noisy examples."""
    rng = torch.Generator().manual_seed(seed)
    x, labels = flipped_labels(n, eta, rng)
    x_new, labels_new = flipped_labels(test, eta, rng)
    near = torch.cdist(x_new, x).topk(k, largest=False).indices  # (test, k)
    answers = labels[near].double().mean(dim=1) > 0.5  # (test,)
    return (answers != labels_new).double().mean().item()


# %%
print(" eta     1-NN  2 eta (1 - eta)   71-NN")
limits = {}
for eta in (0.0, 0.1, 0.2):
    limits[eta] = [sum(knn_error(5000, eta, k, s) for s in range(2)) / 2
                   for k in (1, 71)]
    print(f"{eta:4} {limits[eta][0]:8.3f} {2 * eta * (1 - eta):13.3f}"
          f"{limits[eta][1]:12.3f}")

# %%
# check 5.5-C6: 1-NN ends at 2 eta (1 - eta), the square root of n at eta
for eta, (one_nn, many_nn) in limits.items():
    assert abs(one_nn - 2 * eta * (1 - eta)) < 0.015
    assert abs(many_nn - eta) < 0.015

# %% tags=["hide-input"]
sizes = [10, 20, 50, 100, 200, 500, 1000, 2000]
learning = torch.tensor([[[knn_error(n, 0.2, k, seed, test=500)
                           for seed in range(30)]
                          for k in (1, round(math.sqrt(n)) // 2 * 2 + 1)]
                         for n in sizes])  # (8, 2, 30)
_, ax = plt.subplots()
for k, (color, ls, name) in enumerate((("C1", "-", "1 neighbour"),
                                       ("C0", "--", r"about $\sqrt{n}$"))):
    group = learning[:, k]  # (8, 30)
    q = group.quantile(torch.tensor([0.1, 0.9]), dim=1)
    ax.fill_between(sizes, *q, color=color, alpha=0.2, lw=0)
    ax.plot(sizes, group.mean(dim=1), color=color, ls=ls, label=name)
ax.axhline(0.32, color="black", ls=":", lw=1, xmax=0.83)
ax.text(2300, 0.32, r"$2\eta(1-\eta)$", va="center")
ax.axhline(0.2, color="black", ls=":", lw=1, xmax=0.83)
ax.text(2300, 0.2, r"$R^*=\eta$", va="center")
ax.set(xscale="log", xlabel="number of training examples n", ylim=(0.1, 0.5),
       xlim=(9, 6000), ylabel="error on new examples")
ax.set_xticks([10, 100, 1000], labels=["10", "100", "1000"])
ax.minorticks_off()
ax.legend(loc="upper right")
d2l.describe(ax, """Error against the number of examples at twenty per cent
    of flipped labels. With one neighbour it settles at 0.32, with about
    the square root of n neighbours at 0.2.""")

# %% [markdown]
# **Figure 5.5.5.** Learning curves with their limits at $\eta=0.2$; mean and the range from the 10th to the 90th percentile of 30 data sets.

# %% [markdown]
# ### The metric is the inductive bias
#
# On images we compare seven meanings of "near": 2 000 stored images of Fashion-MNIST, 1 000 new ones.
# Each is a map $\phi$ of the pixels followed by an ordinary metric.

# %%
def slopes(Z):
    """Differences of neighbouring pixels, down and to the right."""
    images = Z.view(-1, 28, 28)
    return torch.cat((images.diff(dim=1).flatten(1),
                      images.diff(dim=2).flatten(1)), dim=1)


def project(Z, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return Z @ torch.randn(784, 4, generator=rng).to(device)


metrics = {"pixels, L2": (lambda Z: Z, 2.0),
           "pixels, L1": (lambda Z: Z, 1.0),
           "cosine": (F.normalize, 2.0),
           "pixels, largest": (lambda Z: Z, math.inf),
           "image gradients": (slopes, 2.0),
           "4 random projections": (project, 2.0),
           "mean brightness": (lambda Z: Z.mean(dim=1, keepdim=True), 2.0)}


def image_1nn(n, phi, p):
    """Accuracy of the nearest of n images on the first 1000 new ones."""
    gaps = torch.cdist(phi(X_test[:1000]), phi(X[:n]), p=p)  # (1000, n)
    return (y[gaps.argmin(dim=1)] == y_test[:1000]).float().mean().item()


# %%
hits = {name: image_1nn(2000, *metric) for name, metric in metrics.items()}
for name, value in hits.items():
    print(f"{name:22}{value:.2f}")
counts = [100, 500, 2000, 10_000]
by_count = [image_1nn(n, *metrics["pixels, L2"]) for n in counts]
print("L2 with", ", ".join(f"{n}: {value:.2f}"
                           for n, value in zip(counts, by_count)))

# %%
# check 5.5-C7: every metric memorizes, and they generalize differently
assert len(X[:2000].unique(dim=0)) == 2000  # no image occurs twice
for phi in (F.normalize, slopes):
    own = torch.cdist(phi(X[:500]), phi(X[:500])).argmin(dim=1)
    assert torch.equal(y[own], y[:500])  # training error 0
assert by_count[0] < by_count[-1]
if real:
    expected = [0.794, 0.780, 0.795, 0.544, 0.691]
    for value, wanted in zip(hits.values(), expected):
        assert abs(value - wanted) < 0.01
    assert 0.28 < hits["4 random projections"] < 0.46
    assert 0.15 < hits["mean brightness"] < 0.23
    for value, wanted in zip(by_count, (0.687, 0.739, 0.794, 0.808)):
        assert abs(value - wanted) < 0.01

# %% [markdown]
# Each row memorizes, because no image occurs twice (only in mean brightness a few images tie).
# Yet accuracies range from about that of the network of Figure 5.5.2, which was trained on a quarter as many images, down to about twice that of guessing.
# "It interpolates" is no reason to expect failure or success: among these interpolants the geometry decides.

# %% [markdown]
# ### Very wide networks are kernel machines
#
# The parallel is exact in one limit.
# In *kernel regression* a prediction is a combination of the training labels, weighted by a measure of similarity, the kernel.
# If a network becomes infinitely wide, with suitably scaled weights, its training by gradient descent on the squared loss with small steps becomes kernel regression with the fixed *neural tangent kernel* $\Theta(\mathbf{x},\mathbf{x}')=\nabla_{\boldsymbol\theta}f(\mathbf{x})^\top\nabla_{\boldsymbol\theta}f(\mathbf{x}')$, where $f$ is the output and $\boldsymbol\theta$ the parameters (Jacot et al. 2018).
# In Exercise 5.5-7 weights and kernel move less and less as the width grows.
# A fixed kernel cannot learn which inputs are alike.
# Does the kernel of the network of Figure 5.5.2 stay fixed?
# We train it from one seed for 40 epochs, with the cross-entropy as before, on 1 000 images with their true labels.

# %%
def kernel(net, Z):
    """Tangent kernel (k, k) of the first score for rows of Z (k, 784)."""
    rows = [torch.cat([g.flatten() for g in torch.autograd.grad(
        net(z[None])[0, 0], list(net.parameters()))]) for z in Z]
    J = torch.stack(rows)  # (k, parameters)
    return J @ J.mT


changes = {}
for name, rule, lr in (("Adam", torch.optim.Adam, 1e-3),
                       ("SGD", torch.optim.SGD, 0.1)):
    net = make_mlp(0)
    start, before = flat(net), kernel(net, X_test[:20])
    fit(net, X[:1000], y[:1000], memo_epochs * 2 // 3, 0, lr=lr,
        optimizer=rule)
    moved = norm(flat(net) - start) / norm(start)
    after = norm(kernel(net, X_test[:20]) - before) / norm(before)
    changes[name] = moved.item(), after.item()
    print(f"{name:4}: weights moved by {moved:.1f} of their length, "
          f"kernel changed by {after:.0f} of its norm")
assert not measured or min(v[1] for v in changes.values()) > 1
assert not measured or changes["SGD"][0] < changes["Adam"][0]

# %% [markdown]
# It does not, with either optimizer; how far the weights move differs between these two recipes (optimizer and learning rate).
# So the tangent regime does not describe this network in these runs.
# A change of so many times its norm means that the kernel has grown; whether its similarities have changed as well, this number does not say.

# %% [markdown]
# ## Early stopping
#
# Networks can fit wrong labels, but they do not do so at once: simple patterns, which many examples share, tend to be learned first (Arpit and co-authors, 2017).
# So instead of restricting the weights one can restrict the number of epochs.
# This is *early stopping*: watch the error on validation data, and stop when it no longer improves.
#
# A validation error jitters, so the first increase is no reason to stop.
# An epoch counts as an improvement if it is better than the best so far by more than $\epsilon$ (`min_delta`); training stops after a number of epochs in a row without improvement, the *patience*.
# By then the best epoch is past, so its parameters must have been kept.

# %% tags=["export"]
class EarlyStopping:
    """Stop when a value has not fallen for `patience` epochs in a row.

    Call `step` once per epoch with a value to be minimized, such as the
    validation loss. An improvement must exceed `min_delta`. `best` and
    `best_epoch` (counted from 1) say what was best and when; a model
    given to `step` is remembered at that epoch for `restore`.
    """

    def __init__(self, patience=5, min_delta=0.0):
        if patience < 1:
            raise ValueError(f"patience is {patience}; use at least 1.")
        self.patience, self.min_delta = patience, min_delta
        self.best, self.best_epoch, self.epoch = math.inf, 0, 0
        self.state = None

    def step(self, value, model=None):
        """Record one epoch; True if the training should stop."""
        self.epoch += 1
        if float(value) < self.best - self.min_delta:
            self.best, self.best_epoch = float(value), self.epoch
            if model is not None:  # copies: state_dict gives references
                self.state = {name: tensor.detach().clone() for name, tensor
                              in model.state_dict().items()}
        return self.epoch - self.best_epoch >= self.patience

    def restore(self, model):
        """Give the model the parameters of the best epoch."""
        if self.state is None:
            raise RuntimeError("no state was kept; pass the model to step().")
        model.load_state_dict(self.state)

# %%
# check 5.5-C9: patience 3 stops three epochs after the best one
stopper = EarlyStopping(patience=3)
losses = [1.0, 0.9, 0.85, 0.86, 0.85, 0.87]
stops = [stopper.step(value) for value in losses]
assert stops == [False] * 5 + [True]
assert stopper.best == 0.85 and stopper.best_epoch == 3

# %% [markdown]
# A state kept by reference would change along with the model, and `nan`, the loss of an exploded run, must not count as an improvement.

# %%
net = nn.Linear(2, 1)
kept = net.weight.detach().clone()
stopper = EarlyStopping(patience=2)
assert not stopper.step(0.5, net)
with torch.no_grad():
    net.weight.add_(1)  # the training goes on
assert not stopper.step(float("nan"), net) and stopper.step(0.6, net)
stopper.restore(net)
assert torch.equal(net.weight, kept) and stopper.best_epoch == 1
tolerant = EarlyStopping(patience=1, min_delta=0.1)
assert [tolerant.step(v) for v in (1.0, 0.8, 0.75)] == [False, False, True]
for wrong, kind in ((lambda: EarlyStopping(patience=0), ValueError),
                    (lambda: tolerant.restore(net), RuntimeError)):
    try:
        wrong()
    except kind:
        continue
    raise AssertionError(f"a {kind.__name__} was expected")

# %% [markdown]
# ### Right labels first
#
# We take 2 000 images and redraw 40 % of their labels at random, one in ten of which is right by luck, so about 36 % end up wrong.
# The next 1 000 training images, with labels spoiled in the same way, serve for validation; the test labels stay clean.
# For each seed we train for 40 epochs and record the shares of the *right* and of the *wrong* labels that the network reproduces, how often it answers a wrongly labelled image with its *true* label, the accuracy on new images, and the loss on the noisy validation images.
# An `EarlyStopping` with patience 5 watches the last and says when it would have stopped.

# %%
def redraw(labels, share, seed):
    """Replace a random share of the labels by random labels."""
    rng = torch.Generator().manual_seed(100 + seed)
    chosen = torch.rand(len(labels), generator=rng) < share
    lot = torch.randint(10, (len(labels),), generator=rng)
    return torch.where(chosen.to(device), lot.to(device), labels)


def noisy_run(share, seed, n=2000, hiddens=num_hiddens,
              epochs=noise_epochs):
    """Train on partly wrong labels; curves, net and its EarlyStopping."""
    noisy = redraw(y[:n + 1000], share, seed)
    wrong = noisy[:n] != y[:n]
    net, stopper = make_mlp(seed, hiddens), EarlyStopping(patience=5)
    curves, stopped = [], []

    @torch.no_grad()
    def record(epoch):
        scores = net(X[:n + 1000])  # training images, then validation
        answers = scores[:n].argmax(dim=1)  # (n,)
        loss = F.cross_entropy(scores[n:], noisy[n:]).item()
        curves.append([
            (answers == noisy[:n])[~wrong].float().mean().item(),
            (answers == noisy[:n])[wrong].float().mean().item(),
            (answers == y[:n])[wrong].float().mean().item(),
            accuracy(net, X_test, y_test), loss])
        if not stopped and stopper.step(loss, net):
            stopped.append(epoch)

    fit(net, X[:n], noisy[:n], epochs, seed, each_epoch=record)
    return {"curves": torch.tensor(curves), "net": net, "stopper": stopper,
            "stopped": stopped[0] if stopped else epochs,
            "wrong": wrong.float().mean().item()}


noisy_runs = [noisy_run(0.4, seed) for seed in seeds]
curves = torch.stack([run["curves"] for run in noisy_runs])  # (s, e, 5)

# %% tags=["rtol=0.4", "hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.6, 3.3), width_ratios=(1.5, 1))
epochs = range(1, noise_epochs + 1)
for k, (color, ls, name) in enumerate((
        ("C3", "-", "right labels fitted"),
        ("C1", "--", "wrong labels fitted"),
        ("C4", "-.", "wrong ones answered right"),
        ("C0", "-", "accuracy on new images"))):
    axes[0].plot(epochs, curves[..., k].mT, color=color, ls=ls, lw=0.6)
    axes[0].plot(epochs, curves[..., k].mean(dim=0), color=color, ls=ls,
                 lw=2, label=name)
axes[1].plot(epochs, curves[..., 4].mT, color="C5", lw=0.8)
for run in noisy_runs:
    best = run["stopper"].best_epoch
    for ax, k in zip(axes, (3, 4)):
        ax.plot(best, run["curves"][best - 1, k], "k*", ms=10, zorder=3)
    end = run["stopped"] - 1
    axes[1].plot(end + 1, run["curves"][end, 4], "ks", ms=5, mfc="white")
axes[0].set(xlabel="epoch", ylabel="share", ylim=(0, 1.02))
axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, 1.28), ncols=2,
               handlelength=3.2)
axes[1].set(xlabel="epoch", ylabel="loss on noisy validation images")
d2l.describe(axes, """Left: over 40 epochs the share of right labels fitted
    rises to nearly 1, wrong labels are fitted only slowly, up to
    three quarters. Accuracy on new images rises to nearly 0.8 within ten
    epochs and falls below 0.7 afterwards. Right: the validation loss has
    its minimum after a few epochs and rises far above its first value.""")

# %% [markdown]
# **Figure 5.5.6.** Training on labels of which a good third are wrong; thin lines are single seeds, thick ones their means.
# Stars mark the state that early stopping restores, white squares the epoch in which it stops.

# %% tags=["rtol=0.1"]
new = curves[..., 3]  # (seeds, epochs) accuracy on new images
best, best_at = new.max(dim=1)  # (seeds,)
final = new[:, -5:].mean(dim=1)  # (seeds,)
restored = []
for run in noisy_runs:
    run["stopper"].restore(run["net"])
    restored.append(accuracy(run["net"], X_test, y_test))
restored = torch.tensor(restored)
fitted_then = torch.stack([run["curves"][at, 1] for run, at
                           in zip(noisy_runs, best_at)])
for name, value in (("best epoch", best), ("early stopping", restored),
                    ("last 5 epochs", final)):
    print(f"new images, {name:15}{value.mean().item():.2f}")

# %%
# check 5.5-C8: right labels first; stopping early keeps the gain
for run, value in zip(noisy_runs, restored.tolist()):
    at = run["stopper"].best_epoch - 1
    assert abs(run["curves"][at, 3].item() - value) < 1e-6  # same state
    assert 0.33 < run["wrong"] < 0.4
if measured:
    assert (best - final > 0.06).all() and (best > 0.74).all()
    assert fitted_then.mean() < 0.2 and fitted_then.max() < 0.3
    assert (curves[:, -1, 1] > 0.6).all()
    assert (curves[..., 2].amax(dim=1) > 0.6).all()  # told wrong, right
    first = torch.tensor([run["stopper"].best_epoch for run in noisy_runs])
    assert (first <= best_at + 1).all() and (first < best_at).sum() >= 2
    assert best.mean() - restored.mean() < 0.03
    assert (best - restored).max() < 0.1

# %% [markdown]
# In the first epochs the network learns what the majority of labels say.
# It then answers most of the wrongly labelled images with their true label, against what it was told.
# While the wrong labels are being fitted, those answers are lost, and the accuracy on new images sinks.
#
# Garg and co-authors (2021) turned this order into a guarantee.
# With two classes half of the labels that are randomized on purpose are right by chance; a classifier that fits the clean labels and no more than half of the randomized ones answers the wrongly labelled ones correctly and, up to terms that shrink with their number, new examples too.
# The proof covers exact minimizers of the training error and linear classifiers trained by gradient descent; for deep networks it needs an assumption.
# With our ten classes we only compare the two shares of right answers, on wrongly labelled images and on new ones.

# %%
excess = (curves[..., 3] - curves[..., 2]).mean(dim=0)  # (epochs,)
print(f"new images minus wrongly labelled ones: smallest "
      f"{excess.min():+.2f}, last epoch {excess[-1]:+.2f}")
assert not measured or (excess.min() > -0.03 and excess[-1] > 0.2)

# %% [markdown]
# In the early epochs the two are about equal; where new images are lower, chance among 1 000 test images can explain it.
# Later new images are far ahead.

# %% [markdown]
# ### When it helps
#
# Early stopping matters where labels are wrong, or where the outcome is random by nature, as in predicting who will die within a year: there the best predictor has a positive error, and zero training error means that luck was fitted.
# Where labels are clean and determined by the input, training on may do little harm; Exercise 5.5-4 measures how little on our images.
#
# Two cautions.
# The loss on noisy labels had its minimum no later than the accuracy its maximum, in two of three seeds at least two epochs earlier.
# And a validation set that decided when to stop is no test set any more.

# %% [markdown]
# ## Classical regularizers for deep networks
#
# Penalties on the weights are as common in deep learning as in linear regression: *ridge*, the squared $\ell_2$ norm, which is what *weight decay* means for plain gradient descent, and the *lasso*, the $\ell_1$ norm.
# Their explanation cannot be the classical one alone: weight decay of 0.001 in `Adam` and of 0.1 in `AdamW` did not keep our network from fitting nearly all random labels.
#
# They can still help, in ways shown above.
# They select among interpolants, as the smallest norm did in (5.5.4).
# They repair a bad condition number, as in Figure 5.5.3.
# And stopping early *is* nearly ridge for least squares (Exercise 5.5-2).
#
# Noise added to the inputs is another regularizer, which asks the function to be smooth; [Section 5.6](06-dropout.ipynb) carries it into the hidden layers.
# Whether any of them helps is settled on validation data, over several seeds.

# %% [markdown]
# ## Summary
#
# - Averaged over all truths no learner is better than another; generalization needs an inductive bias that fits the world.
# - A network that is wide enough, and even a linear model with more inputs than examples, fits random labels, so bounds that depend on the class alone say nothing about it. Weight decay of 0.001 in Adam and of 0.1 in AdamW did not prevent it, 0.1 in Adam did: the same number means different things in the two.
# - With random features and noisy labels the test error of least squares peaked where the model could just interpolate, and a ridge penalty removed the peak; beyond it we took the fit of smallest norm, which gradient descent from zero finds by itself.
# - The nearest neighbour memorizes; in the limit it errs up to nearly twice as often as necessary where labels are noisy; on a given number of examples the metric decides how well it does.
# - Infinitely wide networks in the tangent regime are kernel regression; in our network of 512 units the kernel changed by more than its own size.
# - In our runs right labels were learned before wrong ones, so `EarlyStopping` on a noisy validation loss recovered nearly the best accuracy and saved more than half of the 40 epochs that we had planned.

# %% [markdown]
# ## Exercises
#
# ### Exercise 5.5-1
#
# Which quantities enter the VC bound of [Section 4.6](../04-linear-classification/06-generalization-classification.ipynb), and which of them differ between a training set with true labels and one with random labels?
# What must the bound therefore be at least, for a class that contains a perfect fit to both?
# Find a quantity that does differ, using the runs of Figure 5.5.2.

# %% [markdown]
# #### Solution 5.5-1

# %% [markdown]
# The VC dimension of the class, the number $n$ of examples, the probability $\delta$ and a constant.
# None of them looks at a label.
# The bound holds for every distribution, hence also for the one with random labels.
# There the gap, at training error 0, is $\frac12$ for two classes, the case of Section 4.6, and $1-\frac1{10}-0=0.9$ for ten; so a bound of this kind for ten classes is at least 0.9 for both sets of labels.
#
# Quantities that do differ depend on the trained function or on its path: how many epochs the fit took, and how far the weights moved.
# Bounds built on such quantities can at least tell the two cases apart, but most of them are far too large to be useful, and Nagarajan and Kolter (2019) found some that *grow* with the number of training examples.

# %% tags=["rtol=0.3"]
def epochs_to(run, level):
    return next((5 * i + 5 for i, v in enumerate(run["curve"])
                 if v >= level), math.inf)


slow = [epochs_to(run, 0.9) for run in runs["random, decay 0"]]
quick = [epochs_to(run, 0.9) for run in runs["true labels"]]
print("random labels need more epochs:",
      all(a > b for a, b in zip(slow, quick)))
if measured:
    assert all(a >= 2 * b for a, b in zip(slow, quick))
    gap = [run["train"] - run["test"]
           for run in runs["random, decay 0"]]
    assert min(gap) > 0.8

# %% [markdown]
# What does a decay that stops random labels cost on true ones?
# With 0.1 in Adam the random labels are not fitted; the true ones are fitted in part, and the accuracy on new images is clearly lower than without decay.
# With 0.01 the random labels are learned more slowly, and after 60 epochs most of them are.

# %% tags=["rtol=0.2"]
costs = {}
for wd in (0.01, 0.1):
    true, lot = (memorize(500, kind, wd) for kind in ("true", "random"))
    costs[wd] = true["train"], true["test"], lot["train"]
    print("Adam, decay {}: true labels fitted {:.2f}, new images {:.2f}, "
          "random labels fitted {:.2f}".format(wd, *costs[wd]))
if measured:
    free = min(run["test"] for run in runs["true labels"])
    assert costs[0.1][0] > 0.6 and costs[0.1][1] < free - 0.06
    assert costs[0.1][2] < 0.3 < 0.6 < costs[0.01][2]

# %% [markdown]
# ### Exercise 5.5-2
#
# Early stopping as regularization.
# For least squares $\frac12\|\mathbf{X}\mathbf{w}-\mathbf{y}\|^2$ write gradient descent from zero in the singular vectors of $\mathbf{X}$, and show that $t$ steps of size $\eta$ multiply the part of the solution with singular value $s$ by $1-(1-\eta s^2)^t$.
# Compare with the filter of ridge regression from [Section 3.7](../03-linear-regression/07-weight-decay.ipynb).
# Which penalty corresponds to $t$ steps?
# Check it on the noisy data of [Section 3.7](../03-linear-regression/07-weight-decay.ipynb): 60 examples, 50 features, noise as strong as the signal.

# %% [markdown]
# #### Solution 5.5-2

# %% [markdown]
# Let $\mathbf{X}=\sum_js_j\mathbf{u}_j\mathbf{v}_j^\top$ and $c_j=\mathbf{v}_j^\top\mathbf{w}$.
# The gradient step reads $c_j\leftarrow c_j+\eta s_j(\mathbf{u}_j^\top\mathbf{y}-s_jc_j)$ for each $j$ separately.
# Its fixed point is $\mathbf{u}_j^\top\mathbf{y}/s_j$, the least-squares solution, and the distance to it shrinks by $1-\eta s_j^2$ in each step.
# From $c_j=0$, after $t$ steps the share $1-(1-\eta s_j^2)^t$ has been reached.
#
# Ridge, with $\frac\lambda2\|\mathbf{w}\|^2$ added, reaches the share $s_j^2/(s_j^2+\lambda)$.
# For small $s_j$ the shares are about $\eta ts_j^2$ and $s_j^2/\lambda$, equal for $\lambda=1/(\eta t)$; for large $s_j$ both are 1.
# Stopping early is therefore close to ridge, and more steps mean less penalty.
# If the best penalty and the best number of steps are chosen separately, the product $\lambda\eta t$ need not be exactly 1; below, its median over 20 data sets lies between $\frac12$ and 1.

# %%
def best_filters(seed, n=60, d=50):
    """Smallest estimation errors of both filters, and lambda eta t."""
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=rng, dtype=f64)
    w = torch.randn(d, 1, generator=rng, dtype=f64) / math.sqrt(d)
    y = X @ w + torch.randn(n, 1, generator=rng, dtype=f64)
    U, s, Vh = torch.linalg.svd(X, full_matrices=False)
    full = (U.T @ y)[:, 0] / s  # (50,) least squares in the directions v
    truth = (Vh @ w)[:, 0]  # (50,)
    eta = 0.2 / s[0] ** 2
    ts = torch.arange(1, 3000, dtype=f64)[:, None]
    lams = torch.logspace(0, 4, 400, dtype=f64)[:, None]
    stop = ((1 - (1 - eta * s**2) ** ts) * full - truth).square().sum(dim=1)
    shrink = (s**2 / (s**2 + lams) * full - truth).square().sum(dim=1)
    t, lam = ts[stop.argmin(), 0], lams[shrink.argmin(), 0]
    return (stop.min() / shrink.min()).item(), (lam * eta * t).item()


pairs = torch.tensor([best_filters(seed) for seed in range(20)])  # (20, 2)
print(f"best errors, stopping over ridge: {pairs[:, 0].min():.2f} to "
      f"{pairs[:, 0].max():.2f}; median of lambda eta t "
      f"{pairs[:, 1].median():.2f}")
assert (pairs[:, 0] - 1).abs().max() < 0.2
assert 0.5 < pairs[:, 1].median() < 1

# %%
rng = torch.Generator().manual_seed(0)
A = torch.randn(60, 50, generator=rng, dtype=f64)
b = torch.randn(60, 1, generator=rng, dtype=f64)
U, s, Vh = torch.linalg.svd(A, full_matrices=False)
by_steps = descend(A, b, torch.zeros(50, 1, dtype=f64), 30)[-1]
share = 1 - (1 - s**2 / s[0] ** 2) ** 30  # the step size of `descend`
by_filter = Vh.T @ (share[:, None] * (U.T @ b) / s[:, None])
torch.testing.assert_close(by_steps, by_filter)

# %% [markdown]
# ### Exercise 5.5-3
#
# How would you choose the patience?
# Replay the validation losses of Figure 5.5.6 with patience 1, 3 and 10, and compare the stopping epochs and the accuracy of the restored states.

# %% [markdown]
# #### Solution 5.5-3

# %% [markdown]
# A small patience stops on a jitter and may miss a better epoch; a large one costs the epochs that it waits.
# With a larger patience the stopping epoch can only grow, and the best loss can only fall.
# The accuracy on clean test labels need not rise with it, because another quantity was minimized.
# Patience should exceed the length of a typical jitter, which one sees in the curve of a run that was not stopped.

# %%
def replay(values, patience):
    """Stopping epoch and best epoch for recorded validation losses."""
    stopper = EarlyStopping(patience)
    for value in values:
        if stopper.step(value):
            break
    return stopper.epoch, stopper.best_epoch


kept = []
for run in noisy_runs:
    stops = [replay(run["curves"][:, 4].tolist(), p) for p in (1, 3, 10)]
    kept.append([run["curves"][at - 1, 3] for _, at in stops])
    assert stops[0][0] <= stops[1][0] <= stops[2][0]
    assert not measured or stops[0][0] < stops[1][0] < stops[2][0]
    losses = [run["curves"][at - 1, 4] for _, at in stops]
    assert losses[0] >= losses[1] >= losses[2]
kept = torch.tensor(kept)  # (seeds, 3)
print("a larger patience stops later, in every seed; accuracies restored:",
      *(f"{value:.2f}" for value in kept.mean(dim=0).tolist()))
assert not measured or (kept.mean(dim=0) > final.mean() + 0.03).all()

# %% [markdown]
# ### Exercise 5.5-4
#
# How much does training on hurt, depending on the share of redrawn labels?
# Train a network of 128 units on 600 images with 0, 20 and 60 % redrawn labels and compare the best and the final accuracy on new images.

# %% [markdown]
# #### Solution 5.5-4

# %% [markdown]
# Without noise next to nothing is lost, with 60 % a good part of what had been learned.
# (The best of all epochs is a maximum of noisy numbers, so even without noise it lies slightly above the final value.)

# %% tags=["rtol=0.5"]
shares, drops = (0.0, 0.2, 0.6), []
for share in shares:
    group = [noisy_run(share, seed, n=600, hiddens=num_hiddens // 4)
             for seed in range(2)]
    new = torch.stack([run["curves"][:, 3] for run in group])  # (2, e)
    drops.append(new.max(dim=1).values - new[:, -5:].mean(dim=1))
    print(f"{share:.0%} redrawn: best minus final "
          f"{drops[-1].mean().item():.2f}")
drops = torch.stack(drops)  # (3, 2)
if measured:
    assert drops[0].mean() < 0.03 and drops[2].min() > 0.1
    assert drops[1].mean() < drops[2].mean()

# %% [markdown]
# ### Exercise 5.5-5
#
# What was the second benefit?
# Count the epochs that early stopping would have saved in Figure 5.5.6, and the price: what else has to be computed?

# %% [markdown]
# #### Solution 5.5-5

# %% [markdown]
# Time and money.
# Of the 40 epochs more than half are never computed.
# The price is one pass over the validation images per epoch, without gradients, a copy of the parameters whenever there is an improvement, and a training set without the validation images.

# %%
saved = [noise_epochs - run["stopped"] for run in noisy_runs]
share = sum(saved) / (noise_epochs * num_seeds)
print("more than half of the epochs saved:", share > 0.5)
assert not measured or share > 0.5

# %% [markdown]
# ### Exercise 5.5-6
#
# Fix the number of random features at $N=40$ and let the number $n$ of examples grow from 20 to 80.
# Predict the curve before you compute it.
# Can more data hurt?

# %% [markdown]
# #### Solution 5.5-6

# %% [markdown]
# The peak sits at $n=N$, so going from 20 to 40 examples means climbing it: *more data hurt*.
# Beyond 40 they help again.
# This is double descent along the other axis, and a ridge penalty removes it as well.

# %%
ns = (20, 30, 40, 50, 80)
by_n, by_n_ridge = (
    [double_descent(n, 10, [40], range(20), penalty)[0, :, 0]
     .quantile(0.5).item() for n in ns] for penalty in (0.0, 1.0))
for n, e, r in zip(ns, by_n, by_n_ridge):
    print(f"n = {n}: test error {e:6.2f}, with ridge {r:.2f}")
assert by_n[2] > 10 * by_n[0] and by_n[2] > 10 * by_n[4]
assert by_n[1] > by_n[0] and by_n[4] < by_n[3] < by_n[2]
assert max(by_n_ridge) < 1

# %% [markdown]
# ### Exercise 5.5-7
#
# Train networks of growing width with one hidden layer by gradient descent, and measure by how much the weights and the tangent kernel change.
# What does the network predict in the limit?

# %% [markdown]
# #### Solution 5.5-7

# %% [markdown]
# A *kernel* $\Theta(\mathbf{x},\mathbf{x}')$ is a measure of similarity of two inputs, and *kernel regression* predicts by a combination of training labels whose weights come from similarities.
# For a network $f(\mathbf{x})$ with one output and parameters $\boldsymbol\theta$, two inputs are similar if a change of the parameters moves both outputs together:
#
# $$\Theta(\mathbf{x},\mathbf{x}') = \nabla_{\boldsymbol\theta}f(\mathbf{x})^\top\,\nabla_{\boldsymbol\theta}f(\mathbf{x}'). \tag{5.5.6}$$
#
# $\nabla_{\boldsymbol\theta}f(\mathbf{x})$ is the vector of derivatives with respect to all parameters, and $\Theta$ is a number, the *neural tangent kernel* (Jacot et al. 2018).
# A small step of gradient descent on the squared loss changes the output at $\mathbf{x}$ in proportion to $\sum_i\Theta(\mathbf{x},\mathbf{x}^{(i)})\bigl(y^{(i)}-f(\mathbf{x}^{(i)})\bigr)$, so $\Theta$ describes the training completely as long as it does not change.
# It hardly changes if the network is very wide: each of many weights needs to move only a little to move the output by a lot.
# In the limit of infinite width the trained network is
#
# $$f_\infty(\mathbf{x}) = f_0(\mathbf{x})+\boldsymbol\Theta(\mathbf{x},\mathbf{X})\,\boldsymbol\Theta(\mathbf{X},\mathbf{X})^{-1}\bigl(\mathbf{y}-f_0(\mathbf{X})\bigr). \tag{5.5.7}$$
#
# $f_0$ is the network before training, $\mathbf{X}\in\mathbb{R}^{n\times d}$ the training inputs, $\mathbf{y}\in\mathbb{R}^n$ their labels, $\boldsymbol\Theta(\mathbf{X},\mathbf{X})\in\mathbb{R}^{n\times n}$ the kernel between them and $\boldsymbol\Theta(\mathbf{x},\mathbf{X})\in\mathbb{R}^{1\times n}$ that to a new input.
# It interpolates, like (5.5.4) with features $\nabla_{\boldsymbol\theta}f$, and starts from $f_0$.
#
# We try it on $f(\mathbf{x})=\frac1{\sqrt m}\sum_{j=1}^ma_j\operatorname{ReLU}(\mathbf{w}_j^\top\mathbf{x})$ with $m$ hidden units and all $a_j$ and all entries of $\mathbf{w}_j\in\mathbb{R}^d$ from $\mathcal{N}(0,1)$.
# The derivatives are $\frac1{\sqrt m}\operatorname{ReLU}(\mathbf{w}_j^\top\mathbf{x})$ with respect to $a_j$ and $\frac1{\sqrt m}a_j\mathbf{1}(\mathbf{w}_j^\top\mathbf{x}>0)\,\mathbf{x}$ with respect to $\mathbf{w}_j$, so the kernel needs two lines.

# %%
def outputs(W, a, X):
    """One hidden ReLU layer: W (m, d), a (m,), X (n, d) -> (n,)."""
    return torch.relu(X @ W.T) @ a / math.sqrt(len(a))


def tangent_kernel(W, a, X, Z):
    """The kernel (5.5.6) between rows of X (n, d) and Z (k, d): (n, k)."""
    sums_X, sums_Z = X @ W.T, Z @ W.T  # (n, m), (k, m)
    last = torch.relu(sums_X) @ torch.relu(sums_Z).T
    gates = ((sums_X > 0) * a**2) @ (sums_Z > 0).to(a.dtype).T
    return (last + gates * (X @ Z.T)) / len(a)


# %%
rng = torch.Generator().manual_seed(0)
W, a, Z = (torch.randn(*s, generator=rng, dtype=f64)
           for s in ((7, 5), (7,), (3, 5)))
jacobians = torch.autograd.functional.jacobian(
    lambda W, a: outputs(W, a, Z), (W, a))
J = torch.cat([part.reshape(3, -1) for part in jacobians], dim=1)  # (3, 42)
torch.testing.assert_close(tangent_kernel(W, a, Z, Z), J @ J.T)

# %% [markdown]
# The task has 20 inputs on the unit sphere in $\mathbb{R}^5$ and the labels $\sin(3x_1)$.
# Both layers are trained by gradient descent until the training error is below $10^{-4}$.

# %%
def ntk_change(width, seed, n=20, d=5):
    """Train one net; relative changes, error, distance to (5.5.7)."""
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(n + 200, d, generator=rng, dtype=f64)
    X = F.normalize(X, dim=1)
    y = torch.sin(3 * X[:, 0])
    X, X_new, y = X[:n], X[n:], y[:n]
    W = W_0 = torch.randn(width, d, generator=rng, dtype=f64)
    a = a_0 = torch.randn(width, generator=rng, dtype=f64)
    K = tangent_kernel(W, a, X, X)  # (n, n) before training
    residual = y - outputs(W, a, X)
    limit = outputs(W, a, X_new) + tangent_kernel(W, a, X_new, X) @ (
        torch.linalg.solve(K, residual))  # (200,) by (5.5.7)
    lr = 1 / torch.linalg.matrix_norm(K, 2)
    while residual.square().mean() > 1e-4:
        sums, scale = X @ W.T, lr / math.sqrt(width)
        W, a = (W + scale * ((sums > 0) * a * residual[:, None]).T @ X,
                a + scale * torch.relu(sums).T @ residual)
        residual = y - outputs(W, a, X)
    moved = (W - W_0).square().sum() + (a - a_0).square().sum()
    size = W_0.square().sum() + a_0.square().sum()
    K_change = norm(tangent_kernel(W, a, X, X) - K) / norm(K)
    gap = (outputs(W, a, X_new) - limit).square().mean().sqrt()
    return ((moved / size).sqrt(), K_change, residual.square().mean(), gap)


ms = [64, 256, 1024, 4096]
lazy = torch.tensor([[ntk_change(m, seed) for seed in range(7)]
                     for m in ms])  # (4, 7, 4)
middle = lazy.median(dim=1).values  # (4, 4)
for m, row in zip(ms, middle.tolist()):
    print(f"width {m:4}: weights moved by {row[0]:.3f}, times sqrt(m) "
          f"{row[0] * math.sqrt(m):.2f}; kernel changed by {row[1]:.3f}")

# %%
# check 5.5-C10: the wider the network, the less its weights and kernel move
scaled = middle[:, 0] * torch.tensor(ms).sqrt()
assert ((scaled > 1.4) & (scaled < 2.6)).all()
for column in (0, 1, 3):  # weights, kernel, distance to (5.5.7)
    assert (middle[1:, column] < 0.8 * middle[:-1, column]).all()
assert middle[-1, 1] < 0.02 and lazy[..., 2].max() < 1e-3

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 3.1))
guide = 1.8 / torch.tensor(ms).sqrt()
for column, color, mark, name in ((0, "C1", "o", "weights"),
                                  (1, "C0", "^", "kernel")):
    axes[0].plot(ms, lazy[..., column], mark, color=color, ms=3.5,
                 mfc="none", mew=0.8)
    axes[0].plot(ms, middle[:, column], color=color,
                 ls=("-", "--")[column], label=name)
axes[0].plot(ms, guide, ":", color="black", label=r"$1.8/\sqrt{m}$")
axes[0].set(ylabel="relative change in training")
axes[1].plot(ms, lazy[..., 3], "s", color="C3", ms=3.5, mfc="none", mew=0.8)
axes[1].plot(ms, middle[:, 3], color="C3")
axes[1].set(ylabel="distance to kernel regression")
for ax in axes:
    ax.set(xscale="log", yscale="log", xlabel="hidden units m")
    ax.set_xticks(ms, labels=[str(m) for m in ms])
    ax.minorticks_off()
axes[0].legend()
d2l.describe(axes, """On logarithmic axes against the width from 64 to 4096.
    Left: the relative change of the weights falls like one over the root
    of the width, that of the kernel at least as fast. Right: the root mean
    square distance between trained network and kernel regression on new
    inputs falls as well.""")

# %% [markdown]
# **Figure 5.5.7.** Seven seeds for each width (marks) and their medians (lines).
# Wide networks learn while hardly moving; the wider they are, the nearer they end, in the median, to the prediction of (5.5.7).

# %% [markdown]
# ## Sources
#
# - C. Zhang, S. Bengio, M. Hardt, B. Recht and O. Vinyals, Understanding deep learning (still) requires rethinking generalization, 2021, [doi:10.1145/3446776](https://doi.org/10.1145/3446776) (first version 2016, [arXiv:1611.03530](https://arxiv.org/abs/1611.03530)): random labels.
# - D. H. Wolpert, The lack of a priori distinctions between learning algorithms, 1996, [doi:10.1162/neco.1996.8.7.1341](https://doi.org/10.1162/neco.1996.8.7.1341).
# - P. L. Bartlett and S. Mendelson, Rademacher and Gaussian complexities: risk bounds and structural results, 2002, [jmlr.org/papers/v3/bartlett02a](https://www.jmlr.org/papers/v3/bartlett02a.html); V. Nagarajan and J. Z. Kolter, Uniform convergence may be unable to explain generalization in deep learning, 2019, [arXiv:1902.04742](https://arxiv.org/abs/1902.04742).
# - P. Nakkiran et al., Deep double descent, 2021, [arXiv:1912.02292](https://arxiv.org/abs/1912.02292); P. Nakkiran et al., Optimal regularization can mitigate double descent, 2020, [arXiv:2003.01897](https://arxiv.org/abs/2003.01897); M. Belkin et al., Reconciling modern machine-learning practice and the classical bias-variance trade-off, 2019, [arXiv:1812.11118](https://arxiv.org/abs/1812.11118).
# - P. L. Bartlett, P. M. Long, G. Lugosi and A. Tsigler, Benign overfitting in linear regression, 2020, [arXiv:1906.11300](https://arxiv.org/abs/1906.11300); I. Loshchilov and F. Hutter, Decoupled weight decay regularization, 2019, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101): AdamW.
# - D. Soudry et al., The implicit bias of gradient descent on separable data, 2018, [arXiv:1710.10345](https://arxiv.org/abs/1710.10345).
# - T. M. Cover and P. E. Hart, Nearest neighbor pattern classification, 1967, [doi:10.1109/TIT.1967.1053964](https://doi.org/10.1109/TIT.1967.1053964); C. J. Stone, Consistent nonparametric regression, 1977, [doi:10.1214/aos/1176343886](https://doi.org/10.1214/aos/1176343886).
# - A. Jacot, F. Gabriel and C. Hongler, Neural tangent kernel, 2018, [arXiv:1806.07572](https://arxiv.org/abs/1806.07572); L. Chizat, E. Oyallon and F. Bach, On lazy training in differentiable programming, 2019, [arXiv:1812.07956](https://arxiv.org/abs/1812.07956): what the tangent regime leaves out.
# - D. Arpit et al., A closer look at memorization in deep networks, 2017, [arXiv:1706.05394](https://arxiv.org/abs/1706.05394); D. Rolnick, A. Veit, S. Belongie and N. Shavit, Deep learning is robust to massive label noise, 2017, [arXiv:1705.10694](https://arxiv.org/abs/1705.10694); S. Garg et al., RATT: leveraging unlabeled data to guarantee generalization, 2021, [arXiv:2105.00303](https://arxiv.org/abs/2105.00303).
# - L. Prechelt, Early stopping, but when?, 1998, [doi:10.1007/3-540-49430-8_3](https://doi.org/10.1007/3-540-49430-8_3); A. Ali, J. Z. Kolter and R. J. Tibshirani, A continuous-time view of early stopping for least squares, 2019, [arXiv:1810.10082](https://arxiv.org/abs/1810.10082): stopping and ridge.
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
