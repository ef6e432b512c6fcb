# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         shuffle_seeds: 2
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
# # 3.3 Synthetic regression data
#
# How do we know that training code is right?
# On real data a wrong program often still learns something, and the answer it should have found is unknown.
# This section makes data whose answer is known, and builds the part of a training program that serves them in small portions.
#
# **You will**
#
# - generate regression data with known parameters, and say how closely any method can recover them;
# - write a loader of minibatches by hand that survives several epochs;
# - get the same batches from PyTorch's `DataLoader` and from the book's `BatchLoader`;
# - measure when shuffling matters and when its absence goes unnoticed.
#
# **Cost**: a few seconds on a CPU, no download, no use of a GPU.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from torch.utils.data import (DataLoader, Dataset, IterableDataset,
                              RandomSampler, TensorDataset)

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (DataModule, Timer,
                                                    add_to_class)

d2l.use_style()

# %% tags=["parameters"]
shuffle_seeds = 5  # repetitions of the experiment in Exercise 3.3-5

# %% [markdown]
# ## Generating the data
#
# A teacher who sets an examination knows the solutions.
# We do the same: choose the parameters first, compute the labels from them, and let a program find the parameters again.
# Where theory says how close a correct program must come, a program that misses by more is wrong.
#
# We draw $n$ examples with two features each and label them by a linear model with noise:
#
# $$
# \mathbf{y} = \mathbf{X}\mathbf{w} + b + \boldsymbol{\epsilon} \tag{3.3.1}
# $$
#
# Here $\mathbf{X}$, of shape $(n, 2)$, holds the features, each an independent draw from the standard normal distribution.
# The weights are $\mathbf{w} = [2, -3.4]^\top$, written as a column of shape $(2, 1)$, and the bias is the number $b = 4.2$.
# The noise $\boldsymbol{\epsilon}$, of shape $(n, 1)$, has independent entries $\epsilon^{(i)} \sim \mathcal{N}(0, \sigma^2)$ with $\sigma = 0.01$.
# The labels $\mathbf{y}$ have shape $(n, 1)$.
# Without noise the features $(1, 1)$ would get the label $2 - 3.4 + 4.2 = 2.8$; with it, a label within about 0.03 of 2.8.
#
# The class below is a `DataModule` ([Section 3.2](02-object-oriented-design.ipynb)), so a `Trainer` will accept it.
# It draws training and validation examples at once: the first `num_train` rows are for training, the others for validation.
# The `generator` makes the draw reproducible without touching the random numbers of any other part of a program.

# %% tags=["export"]
class SyntheticRegressionData(DataModule):
    """Labels y = Xw + b + noise with known w and b."""

    def __init__(self, w, b, noise=0.01, num_train=1000, num_val=1000,
                 batch_size=32, generator=None):
        super().__init__()
        self.save_hyperparameters()
        n = num_train + num_val
        self.X = torch.randn(n, len(w), generator=generator)
        eps = noise * torch.randn(n, 1, generator=generator)
        self.y = self.X @ w.reshape(-1, 1) + b + eps  # (n, 1)

# %%
w_true, b_true = torch.tensor([2, -3.4]), 4.2
data = SyntheticRegressionData(w_true, b_true,
                               generator=torch.Generator().manual_seed(0))
print("features:", data.X[0].tolist())
print("label:   ", data.y[0].tolist())

# %% [markdown]
# Why is `y` a column rather than a plain vector?
# A model computes $\mathbf{X}\mathbf{w} + b$ as a column.
# If the labels had shape $(n,)$, the difference of prediction and label would be broadcast to a matrix of shape $(n, n)$, and the loss would be wrong without any error message.
# So we look at shapes first, and at a picture next.

# %%
X, y = data.X[:1000], data.y[:1000, 0]
grid = torch.linspace(-3, 3, 9)
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True)
for j, ax in enumerate(axes):
    ax.scatter(X[:, j], y, s=5, alpha=0.5)
    ax.plot(grid, w_true[j] * grid + b_true, color="C1")
    ax.set(xlabel=f"feature $x_{j + 1}$")
axes[0].set_ylabel("label $y$")
d2l.describe(axes, "The label scatters widely around a rising line over "
             "feature 1, and less widely around a steeper falling line over "
             "feature 2.")

# %% [markdown]
# **Figure 3.3.1.** Over one feature alone the label scatters widely around the line $w_jx_j + b$.
#
# This scatter is not noise.
# It is the contribution of the feature that the panel leaves out: over $x_1$ the hidden term $-3.4x_2$ spreads the label with a standard deviation of 3.4, over 300 times that of the noise.
# A plot of the label against one feature can hide a relation that is almost exact.
# Over both features, the relation is plain.

# %% tags=["hide-input"]
fig = plt.figure(figsize=(5, 3.2))
ax = fig.add_subplot(projection="3d")
x1, x2 = torch.meshgrid(grid, grid, indexing="xy")  # (9, 9) each
plane = w_true[0] * x1 + w_true[1] * x2 + b_true
ax.plot_wireframe(x1.numpy(), x2.numpy(), plane.numpy(), color="C1",
                  linewidth=0.8)
near = (X.abs() < 3).all(dim=1)
ax.scatter(*X[near][:300].T, y[near][:300], s=8, color="C0")
ax.set(xlabel="$x_1$", ylabel="$x_2$", xticks=(-3, 0, 3),
       yticks=(-3, 0, 3), zticks=(-10, 0, 10, 20))
ax.set_zlabel("label $y$", labelpad=4)
ax.view_init(elev=8, azim=-6)
ax.set_box_aspect((1, 1, 0.75), zoom=1.05)
d2l.describe(ax, "A tilted plane drawn as a net of lines, seen almost "
             "from its edge, and 300 examples that all lie in it.")

# %% [markdown]
# **Figure 3.3.2.** Over both features every example lies on the plane $w_1x_1 + w_2x_2 + b$, up to noise too small to see.

# %% [markdown]
# ### How exactly can the parameters be found?
#
# Known truth is of use only if we know how close to it a correct program must come.
# The noise blurs the answer a little.
# For least squares ([Section 3.1](01-linear-regression.ipynb)) with independent standard normal features, each estimated parameter scatters around the true one with a standard deviation of
#
# $$
# \operatorname{se}(\hat w_j) \approx \frac{\sigma}{\sqrt{n}}, \tag{3.3.2}
# $$
#
# where $\hat w_j$ is the estimate of the scalar $w_j$, $\sigma$ the standard deviation of the noise and $n$ the number of training examples; the same holds for $\hat b$.
# This number is called the *standard error*.
# With $\sigma = 0.01$ and $n = 1000$ it is $0.01 / \sqrt{1000} \approx 0.00032$.
# A program that solves the least-squares problem *exactly* and misses by ten standard errors is at fault; a miss by one is no evidence against it.
# Training that has not converged is another matter: [Section 3.4](04-linear-regression-scratch.ipynb) will miss by hundreds of standard errors with a correct program, and predict by how many.

# %%
A = torch.cat([data.X[:1000], torch.ones(1000, 1)], dim=1)  # (1000, 3)
A, y = A.double(), data.y[:1000].double()
estimate = torch.linalg.lstsq(A, y).solution  # (3, 1)
truth = torch.tensor([[2], [-3.4], [4.2]])
for name, e, t in zip(("w1", "w2", "b"), estimate, truth):
    error = (e - t).item() / (0.01 / math.sqrt(1000))
    print(f"{name}: true {t.item():5.2f}, error {error:5.2f} standard errors")

# %%
# check 3.3-C6: least squares finds the parameters to within 0.0015
assert (estimate - truth).abs().max() < 0.0015

# %%
# check 3.3-C7: what the plane leaves unexplained is the noise
residual = y - A @ estimate
assert 0.0092 <= residual.std() <= 0.0108

# %% [markdown]
# ## Reading the data in minibatches
#
# Stochastic gradient descent takes a *minibatch* of examples at a time.
# One pass over all training examples is an *epoch*.
# For training we want, in each epoch, every example exactly once and in a new random order.
# For validation the order does not matter, so we keep it fixed: then two runs can be compared line by line.
#
# Both come from one idea: write down the indices $0, \dots, n-1$, in random order or not, and cut the list into blocks of `batch_size`.
# The last block is smaller if `batch_size` does not divide $n$.
# A generator function says this in five lines.

# %%
def batches(X, y, batch_size, shuffle):
    n = len(X)
    order = torch.randperm(n) if shuffle else torch.arange(n)
    for index in order.split(batch_size):
        yield X[index], y[index]

torch.manual_seed(0)
for X, y in batches(data.X[:1000], data.y[:1000], 32, shuffle=True):
    print(X.shape, y.shape)
    break

# %% [markdown]
# This works, once.
# Training needs more: it asks how many batches an epoch has, for example to place points on the axis of a plot, and it runs for many epochs.
# A generator knows neither its length nor how to start again: after the first pass it is exhausted, and a second `for` loop over it does nothing at all.
# That failure is silent; a training loop would report ten epochs and have trained for one.

# %%
loader = batches(data.X[:1000], data.y[:1000], 32, shuffle=True)
passes = [sum(1 for _ in loader) for _ in range(3)]
print("batches in three passes:", passes)

# %% [markdown]
# The remedy is an object that returns a *new* generator each time it is asked.
# Python asks by calling `__iter__` at the start of every `for` loop, and `len` calls `__len__`.
# A class with these two methods is all that a data loader is.

# %% tags=["export"]
class BatchIterator:
    """Minibatches of (X, y); every `for` loop over it is one epoch."""

    def __init__(self, X, y, batch_size, shuffle=False, generator=None):
        self.X, self.y, self.batch_size = X, y, batch_size
        self.shuffle, self.generator = shuffle, generator

    def __len__(self):
        return math.ceil(len(self.X) / self.batch_size)

    def __iter__(self):
        n = len(self.X)
        order = (torch.randperm(n, generator=self.generator)
                 if self.shuffle else torch.arange(n))
        for index in order.split(self.batch_size):
            yield self.X[index], self.y[index]

# %%
by_hand = BatchIterator(data.X[:1000], data.y[:1000], 32, shuffle=True,
                        generator=torch.Generator().manual_seed(0))
passes = [sum(1 for _ in by_hand) for _ in range(3)]
print("batches in three passes:", passes, "and len:", len(by_hand))

# %%
# check 3.3-C5: a generator has no length and one pass; the class has both
try:
    len(batches(data.X, data.y, 32, shuffle=True))
    raise AssertionError("a generator should have no length")
except TypeError as error:
    print("TypeError:", error)
used = batches(data.X[:1000], data.y[:1000], 32, shuffle=True)
assert len(list(used)) == 32 and len(list(used)) == 0
assert [len(list(by_hand)) for _ in range(2)] == [32, 32]

# %% [markdown]
# To see the order itself, serve the numbers 0 to 19 in batches of six: twice shuffled, once in order.

# %%
numbers = torch.arange(20)
g = torch.Generator().manual_seed(1)
shuffled = BatchIterator(numbers, numbers, 6, shuffle=True, generator=g)
fixed = BatchIterator(numbers, numbers, 6)
strips = [torch.cat([X for X, _ in loader])
          for loader in (shuffled, shuffled, fixed)]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7, 1.9))
ax.imshow(np.tile(np.arange(20) // 6, (3, 1)), aspect="auto",
          cmap=ListedColormap(["#9ecae9", "#f6c6a5", "#a5dcc9", "#e8cfe0"]))
for i, strip in enumerate(strips):
    for j, index in enumerate(strip.tolist()):
        ax.text(j, i, index, ha="center", va="center", fontsize=9)
ax.set_yticks(range(3), ["training, epoch 1", "training, epoch 2",
                         "validation"])
ax.set_xticks([2.5, 8.5, 14.5, 18.5], [f"batch {i}" for i in range(4)])
ax.grid(False)
ax.tick_params(length=0)
d2l.describe(ax, "Three rows of the numbers 0 to 19, cut into batches of "
             "6, 6, 6 and 2. The two training rows are in different random "
             "orders, the validation row is in ascending order.")

# %% [markdown]
# **Figure 3.3.3.** An epoch is a permutation of the indices cut into blocks; training draws a new one each epoch, validation keeps the order.

# %% [markdown]
# ## PyTorch's loader
#
# PyTorch separates the two questions that our class answers together.
# A *dataset* says what example $i$ is, a *loader* says which examples come together and when.
# `TensorDataset` is the dataset of tensors in memory: item $i$ is row $i$ of each tensor.
# `DataLoader` builds the batches from it in four stages.
#
# ![A chain of four boxes: the sampler gives an order of indices, the batch sampler cuts it into blocks, the dataset fetches one example for each index, collate_fn stacks the examples to a batch.](img/dataloader-stages.svg)
#
# **Figure 3.3.4.** The stages of `DataLoader`: two handle integers, two handle data and may run in worker processes.

# %%
train_set = TensorDataset(data.X[:1000], data.y[:1000])
loader = DataLoader(train_set, batch_size=32, shuffle=True,
                    generator=torch.Generator().manual_seed(0))
X, y = next(iter(loader))
print(len(train_set), "examples,", len(loader), "batches, first",
      tuple(X.shape), tuple(y.shape))

# %% [markdown]
# Its arguments are those that a reader of training code meets everywhere.
# `shuffle=True` draws a new permutation each epoch, from `generator` if one is given, which makes the order repeatable.
# `drop_last=True` leaves out a smaller last batch; this matters where a layer cannot work with a batch of one example, or where compiled code wants one shape only.
# `num_workers=k` starts $k$ processes that fetch and collate ahead of the training loop.
# They pay where an example is expensive to make, such as a photograph that must be decoded; for numbers that already lie in memory there is little to prepare, so measure before you start workers.
#
# How large is the last batch, and what does dropping it lose?

# %%
keep = DataLoader(train_set, batch_size=32)
drop = DataLoader(train_set, batch_size=32, drop_last=True)
fig, axes = plt.subplots(1, 2, figsize=(7, 2.2), sharey=True)
for ax, loader, name in zip(axes, (keep, drop), (False, True)):
    sizes = [len(y) for _, y in loader]
    ax.bar(range(len(sizes)), sizes,
           color=["C0" if size == 32 else "C1" for size in sizes])
    ax.set(title=f"drop_last={name}", xlabel="batch", xlim=(-1, 32))
axes[0].set_ylabel("examples")
d2l.describe(axes, "Bars of batch sizes. Without drop_last there are 31 "
             "batches of 32 and a last one of 8; with it only the 31 full "
             "ones.")

# %% [markdown]
# **Figure 3.3.5.** 1000 examples make 31 full batches and one of 8; `drop_last` leaves it out.
#
# The small batch has a consequence.
# The mean of the 32 batch losses is not the mean loss of the epoch, because the 8 examples of the last batch would count four times as much as the others.
# The `Trainer` of [Section 3.2](02-object-oriented-design.ipynb) weights each batch by its number of examples for this reason.

# %% [markdown]
# ### Datasets with an index and datasets without
#
# A *map-style* dataset has `__len__` and `__getitem__`: any example can be asked for, so the loader can shuffle.
# An *iterable* dataset has only `__iter__`: examples arrive one after another, as lines from a file too large for memory or messages from a network.
# Then the loader cannot shuffle, and it says so.

# %%
class Stream(IterableDataset):
    """Examples of a SyntheticRegressionData, one after another."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield from zip(self.data.X, self.data.y)

stream = Stream(data)
X, y = next(iter(DataLoader(stream, batch_size=32)))
print("first batch:", tuple(X.shape), tuple(y.shape))
assert torch.equal(X, data.X[:32]) and torch.equal(y, data.y[:32])
try:
    DataLoader(stream, batch_size=32, shuffle=True)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# One trap comes with iterable datasets: each of several workers receives a copy and runs through *all* of it, so every example is served `num_workers` times unless the dataset divides the work with `torch.utils.data.get_worker_info()`.

# %% [markdown]
# ### Steps that compose
#
# Whatever has `__iter__` and `__len__` is a loader, so a loader that wraps another one is a loader too.
# Processing becomes a chain of small steps: each takes batches and gives batches, and the training loop sees only the last.
# Below, one step standardizes the features with the mean and standard deviation of the *training* part, and a second one appends their product as a new feature.

# %%
class Map:
    """A loader whose batches pass through a function."""

    def __init__(self, function, loader):
        self.function, self.loader = function, loader

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        return (self.function(*batch) for batch in self.loader)

mean, std = data.X[:1000].mean(dim=0), data.X[:1000].std(dim=0)  # (2,)
chain = Map(lambda X, y: ((X - mean) / std, y), by_hand)
chain = Map(lambda X, y: (
    torch.cat([X, X[:, :1] * X[:, 1:]], dim=1), y), chain)  # (32, 3)

# %%
epochs = [torch.cat([X for X, _ in chain]) for _ in range(2)]
print("two epochs:", [tuple(X.shape) for X in epochs])
torch.testing.assert_close(epochs[0][:, :2].mean(dim=0), torch.zeros(2),
                           atol=1e-5, rtol=0)
torch.testing.assert_close(epochs[0][:, :2].std(dim=0), torch.ones(2))
assert torch.equal(epochs[0][:, 2], epochs[0][:, :2].prod(dim=1))
assert len(chain) == 32 and not torch.equal(*epochs)

# %% [markdown]
# ## The loader of this book
#
# `DataLoader` asks its dataset for one example at a time and stacks them again.
# That generality has a price when the data already are tensors: a thousand calls of Python where one indexing operation would do.
# The book's data modules therefore use `d2l.BatchLoader`, which is our `BatchIterator` for any number of tensors on any device, with `drop_last` and an optional function applied to each batch.
# The method below puts it into `DataModule`, for all later data sets; `indices` selects the part that belongs to training or to validation.

# %% tags=["export"]
@add_to_class(DataModule)
def get_tensorloader(self, tensors, train, indices=slice(0, None)):
    """Minibatches of `tensors[indices]`; shuffled if `train`."""
    tensors = tuple(tensor[indices] for tensor in tensors)
    return d2l.BatchLoader(tensors, self.batch_size, shuffle=train,
                           generator=getattr(self, "generator", None))

# %% tags=["export"]
@add_to_class(SyntheticRegressionData)
def get_dataloader(self, train):
    """The training rows, shuffled, or the validation rows in order."""
    n = self.num_train
    indices = slice(0, n) if train else slice(n, None)
    return self.get_tensorloader((self.X, self.y), train, indices)

# %%
X, y = next(iter(data.train_dataloader()))
print(tuple(X.shape), tuple(y.shape))

# %%
# check 3.3-C1: shapes of the data and of the first batch
assert data.X.shape == (2000, 2) and data.y.shape == (2000, 1)
assert X.shape == (32, 2) and y.shape == (32, 1)

# %%
# check 3.3-C2: number of batches, and size of the last one
train = data.train_dataloader()
assert len(train) == 32 == math.ceil(1000 / 32)
assert len(list(train)) == 32 and len(list(train)[-1][1]) == 8
tensors = (data.X[:1000], data.y[:1000])
assert len(d2l.BatchLoader(tensors, 32, drop_last=True)) == 31
assert len(drop) == len(list(drop)) == 31

# %% [markdown]
# Do the three loaders serve the same batches?
# For a fixed order this is easy to test.
# For a shuffled order all three must also draw the same permutation.
# `BatchIterator` and `BatchLoader` call `torch.randperm` once an epoch.
# A `DataLoader` with a generator first draws one more number, the seed of its workers, so equal seeds give *another* order there.
# The generator goes to the sampler alone if we build that one ourselves; then the first epochs agree to the last bit.

# %%
X, y = data.X[:1000], data.y[:1000]

def seeded():
    return torch.Generator().manual_seed(3)

in_order = (BatchIterator(X, y, 32), DataLoader(train_set, 32),
            d2l.BatchLoader((X, y), 32))
shuffled = (
    BatchIterator(X, y, 32, shuffle=True, generator=seeded()),
    DataLoader(train_set, 32,
               sampler=RandomSampler(train_set, generator=seeded())),
    d2l.BatchLoader((X, y), 32, shuffle=True, generator=seeded()))

# %%
for three in (in_order, shuffled):
    for hand, torch_, book in zip(*three, strict=True):
        torch.testing.assert_close(list(hand), torch_, rtol=0, atol=0)
        torch.testing.assert_close(hand, book, rtol=0, atol=0)
print("three loaders, in order and shuffled: equal")

# %% [markdown]
# The batches are equal, the costs are not: the next cell times one epoch of each.

# %% tags=["timing"]
seconds = []
for loader in shuffled:
    timer = Timer()
    for _ in range(5):
        list(loader)
        timer.stop()
        timer.start()
    seconds.append(min(timer.times))
for name, s in zip(("BatchIterator", "DataLoader", "BatchLoader"), seconds):
    print(f"{name:13}  {1e3 * s:6.2f} ms an epoch of 1000 examples")
assert seconds[1] > 3 * seconds[2]

# %% [markdown]
# What remains is to test the promises of the data module itself.
# To see which examples an epoch visits, we let the row numbers travel along with the features.

# %%
rows = torch.arange(2000)

def visited(data, train):
    """Row numbers in the order of one epoch."""
    part = slice(0, 1000) if train else slice(1000, None)
    loader = data.get_tensorloader((data.X, rows), train, part)
    return torch.cat([index for _, index in loader])

# %%
# check 3.3-C3: an epoch visits each training row once, no validation row
assert torch.equal(visited(data, train=True).sort().values, rows[:1000])
X, y = (torch.cat(column) for column in zip(*data.train_dataloader()))
order = data.X[:1000, 0].argsort()
assert torch.equal(X[X[:, 0].argsort()], data.X[:1000][order])
assert torch.equal(y[X[:, 0].argsort()], data.y[:1000][order])
everything = data.get_tensorloader((rows,), train=False)
assert torch.equal(torch.cat([index for index, in everything]), rows)

# %%
# check 3.3-C4: validation is in order, training reshuffles, seeds repeat
assert torch.equal(visited(data, train=False), rows[1000:])
X, y = (torch.cat(column) for column in zip(*data.val_dataloader()))
assert torch.equal(X, data.X[1000:]) and torch.equal(y, data.y[1000:])
assert not torch.equal(visited(data, True), visited(data, True))
state = torch.get_rng_state()
twins = [SyntheticRegressionData(
    w_true, b_true, generator=torch.Generator().manual_seed(7))
    for _ in range(2)]
assert torch.equal(twins[0].X, twins[1].X)
assert torch.equal(twins[0].y, twins[1].y)
assert torch.equal(state, torch.get_rng_state())  # left alone
for _ in range(2):  # two epochs
    assert torch.equal(visited(twins[0], True), visited(twins[1], True))

# %% [markdown]
# ## Does shuffling matter?
#
# Data often arrive sorted: by date, by class, by size.
# To see what that does, we run minibatch SGD for linear regression ([Section 3.1](01-linear-regression.ipynb)) over the same training rows in five orders: sorted by label, sorted the other way round, sorted by the label without its noise ("clean"), as they were drawn, and shuffled anew in each epoch.
# At the end of each epoch we compare the parameters with the least-squares solution of the same data.

# %%
def sgd_errors(noise, order, seed, epochs=10, lr=0.1):
    """Parameters minus least squares after each epoch: (epochs, 3)."""
    g = torch.Generator().manual_seed(seed)
    data = SyntheticRegressionData(w_true, b_true, noise, num_val=0,
                                   generator=g)
    A = torch.cat([data.X, torch.ones(1000, 1)], dim=1)  # (1000, 3)
    A, y = A.double(), data.y.double()
    if order in ("sorted", "reversed", "clean"):
        key = data.X @ w_true + b_true if order == "clean" else y[:, 0]
        rows = key.argsort(descending=order == "reversed")
        A, y = A[rows], y[rows]
    best = torch.linalg.lstsq(A, y).solution
    w, errors = torch.zeros_like(best), []  # w: (3, 1)
    loader = BatchIterator(A, y, 32, order == "shuffled", generator=g)
    for _ in range(epochs):
        for X, y in loader:
            w = w - lr * X.mT @ (X @ w - y) / len(X)
        errors.append((w - best)[:, 0])
    return torch.stack(errors)

# %%
orders = ("sorted", "reversed", "clean", "as drawn", "shuffled")
errors = {(noise, order): sgd_errors(noise, order, seed=0)
          for noise in (1, 0.01) for order in orders}
ends = {case: torch.linalg.vector_norm(e[-1]).item()
        for case, e in errors.items()}
for order in orders:
    print(f"noise 1, {order:9} distance {ends[1, order]:.2f}, error of b "
          f"{errors[1, order][-1, 2]:5.2f};  noise 0.01, distance "
          f"{ends[0.01, order]:.4f}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8))
for ax, noise in zip(axes, (1, 0.01)):
    for k, order in enumerate(orders):
        distance = torch.linalg.vector_norm(errors[noise, order], dim=1)
        ax.plot(range(1, 11), distance, marker="s^Dvo"[k], markersize=4,
                ls=("-", "--", (0, (5, 1, 1, 1)), ":", "-.")[k], label=order)
    ax.set(xlabel="epoch", yscale="log", title=f"noise {noise}")
axes[0].set_ylabel("distance to least squares")
axes[1].legend()
d2l.describe(axes, "With noise 1 the runs sorted by the label, up or down, "
             "stay near 0.3 while the three others get several times "
             "closer. With noise 0.01 all three sorted runs approach more "
             "slowly, but all five end at about 0.001 or below.")

# %% [markdown]
# **Figure 3.3.6.** With noise 1, reading in the order of the labels leaves the parameters several times farther from the solution; reading in the order of the noise-free labels does not.
# With noise 0.01 any sorting costs a few epochs, and all five orders arrive.

# %%
for order in ("sorted", "reversed"):
    sign = 1 if order == "sorted" else -1
    assert ends[1, order] > 3 * max(ends[1, other] for other in orders[2:])
    assert 0.2 < sign * errors[1, order][-1, 2] < 0.4  # the bias b
for seed in range(4):  # the control, for four data sets: no bias
    assert abs(sgd_errors(1, "clean", seed)[-1, 2]) < 0.05
after_three = {order: torch.linalg.vector_norm(errors[0.01, order][2])
               for order in orders}
for order in ("sorted", "reversed", "clean"):
    assert after_three[order] > 10 * after_three["shuffled"]
assert max(ends[0.01, order] for order in orders) < 0.002
assert not torch.equal(errors[1, "shuffled"], errors[1, "as drawn"])

# %% [markdown]
# The reason is in the batches.
# In a sorted epoch the last batches hold the largest labels, whose noise tends to be positive.
# Their gradients are not unbiased estimates of the gradient over all data, and they have the last word: $b$ ends too high.
# Reading in the opposite order turns the sign: there $b$ ends too low by as much.
# The clean order is the control.
# Its batches are sorted almost as strictly, but their noise is drawn independently of the order, and $b$ ends where it should.
# So the order alone only delays the approach, as all three sorted runs with noise 0.01 show; the harm comes from an order that knows the noise.
#
# A forgotten `shuffle=True` shows in neither panel: rows that were drawn independently are in random order already, so reading them "as drawn" does about as well as shuffling.
# Known truth tests an implementation only for faults that the data provoke; to test the shuffling, sort the data first.

# %% [markdown]
# ## Summary
#
# - Synthetic data with known parameters test an implementation, because theory says how close an exact solver comes: within a few standard errors $\sigma/\sqrt n$.
# - An epoch is a permutation of the indices cut into blocks; a loader is any object with `__iter__`, which starts a new epoch, and `__len__`.
# - A bare generator is no loader: the second epoch is empty, without an error.
# - `DataLoader`, our `BatchIterator` and `BatchLoader` serve equal batches; for tensors in memory, indexing whole batches is several times faster than fetching single examples.
# - Reading unshuffled data sorted by noisy labels biases the batches, and the result is wrong; an order that does not depend on the noise only makes it late, and on data drawn independently nothing shows.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 3.3-1
#
# A data set has $n = 1003$ examples and the batch size is 64.
# How many batches does an epoch have, and how large is the last one, with and without `drop_last`?
# Compute it by hand, then ask a loader.

# %% [markdown]
# #### Solution 3.3-1

# %% [markdown]
# $1003 = 15 \cdot 64 + 43$.
# There are $\lceil 1003/64 \rceil = 16$ batches, the last with 43 examples; with `drop_last=True` there are $\lfloor 1003/64 \rfloor = 15$, all full, and 43 examples are not seen in that epoch.
# As the order is new each time, other examples are left out in the next.

# %%
examples = torch.zeros(1003, 2)
for drop_last, count, last in ((False, 16, 43), (True, 15, 64)):
    for loader in (d2l.BatchLoader((examples,), 64, drop_last=drop_last),
                   DataLoader(TensorDataset(examples), 64,
                              drop_last=drop_last)):
        sizes = [len(X) for X, in loader]
        assert len(loader) == len(sizes) == count and sizes[-1] == last

# %% [markdown]
# ### Exercise 3.3-2
#
# Synthetic data need not be stored.
# Write a map-style dataset of 1000 examples that draws a *new* example each time it is asked.
# Is there still an epoch, and can a model overfit such data?

# %% [markdown]
# #### Solution 3.3-2

# %% [markdown]
# `__getitem__` ignores its index and draws from a generator.
# An epoch is now only a count of 1000 examples: no example ever returns, so the training loss of each batch is measured on unseen data, and there is nothing to overfit.

# %%
class FreshData(Dataset):
    """New examples of y = Xw + b + noise at every request."""

    def __init__(self, n, seed=0):
        self.n, self.generator = n, torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        x = torch.randn(2, generator=self.generator)
        eps = 0.01 * torch.randn(1, generator=self.generator)
        return x, x @ w_true + b_true + eps  # (2,), (1,)

def epoch(dataset):
    return torch.cat([X for X, _ in DataLoader(dataset, batch_size=32)])

fresh = FreshData(1000)
first, second = epoch(fresh), epoch(fresh)
assert first.shape == second.shape == (1000, 2)
assert not torch.isin(first, second).any()
assert torch.equal(epoch(FreshData(1000)), first)  # seeds repeat
assert not torch.equal(epoch(FreshData(1000, seed=1)), first)

# %% [markdown]
# ### Exercise 3.3-3
#
# Now make example $i$ the same whenever it is asked for, in any order, still without storing any.

# %% [markdown]
# #### Solution 3.3-3

# %% [markdown]
# The example must be a function of the seed and of $i$ alone: give each index its own generator.
# The order of requests then has no influence, which is also what makes the data equal for any number of workers.

# %%
class RepeatedData(FreshData):
    """Example i is the same at every request; nothing is stored."""

    def __init__(self, n, seed=0):
        self.n, self.seed = n, seed

    def __getitem__(self, i):
        self.generator = torch.Generator().manual_seed(
            self.seed * self.n + i)
        return super().__getitem__(i)

same = RepeatedData(1000)
torch.testing.assert_close(epoch(same), epoch(same), rtol=0, atol=0)
backwards = torch.stack([same[i][0] for i in reversed(range(1000))])
torch.testing.assert_close(backwards.flip(0), epoch(same), rtol=0, atol=0)
assert len(epoch(same).unique(dim=0)) == 1000
assert not torch.equal(epoch(RepeatedData(1000, seed=1)), epoch(same))

# %% [markdown]
# ### Exercise 3.3-4
#
# Data too large for memory come as a stream and cannot be permuted.
# A common remedy is a *shuffle buffer*: keep $K$ examples, hand out a random one of them, and put the next one of the stream into its place.
# Write it as a generator function.
# Check that every item comes out once, and measure how far items move from their place.
# How large must $K$ be?

# %% [markdown]
# #### Solution 3.3-4

# %% [markdown]
# When item $i$ enters, positions up to $i - K$ have been given out, so it can come at most $K - 1$ places early.
# From then on it is drawn with probability $1/K$ at each step: it waits a geometric number of steps with mean $K$, so it can come late by any amount, but rarely by more than a few $K$.
# The mean of $|\text{wait} - K|$ for such a wait is close to $2K/e \approx 0.74K$, while a true permutation of $n$ items moves them by $n/3$ on average.
# A buffer therefore mixes only neighbourhoods of size $K$: for data sorted by class, $K$ must be larger than a class, or the order of the files must be shuffled as well.

# %%
def shuffle_buffer(stream, K, generator):
    """Items of a stream in an order that is random over about K places."""
    buffer = []
    for item in stream:
        if len(buffer) < K:
            buffer.append(item)
            continue
        j = torch.randint(K, (1,), generator=generator).item()
        yield buffer[j]
        buffer[j] = item
    for j in torch.randperm(len(buffer), generator=generator).tolist():
        yield buffer[j]

n, K = 20_000, 100
g = torch.Generator().manual_seed(0)
out = torch.tensor(list(shuffle_buffer(range(n), K, g)))
moved = torch.arange(n) - out  # places later (+) or earlier (-)
print(f"earliest {moved.min()}, latest {moved.max()}, "
      f"mean distance {moved.abs().float().mean():.1f}")

# %%
assert torch.equal(out.sort().values, torch.arange(n))
assert -(K - 1) <= moved.min() < -(K - 1) + 5
assert moved.max() > 5 * K
distance = moved.abs().float().mean()
assert abs(distance - 2 * K / math.e) < 0.05 * K
short = list(shuffle_buffer(range(20), K, g))  # all fit into the buffer
assert sorted(short) == list(range(20)) != short
twice = [list(shuffle_buffer(range(99), 9, torch.Generator().manual_seed(1)))
         for _ in range(2)]
assert twice[0] == twice[1] != list(range(99))

# %% [markdown]
# ### Exercise 3.3-5
#
# Reproduce the experiment on shuffling with five other data sets and give the final distances.
# Is the ratio between sorted and shuffled stable?
# Then divide the learning rate by ten and train ten times as long: does patience cure sorted data?

# %% [markdown]
# #### Solution 3.3-5

# %% [markdown]
# In each of these data sets the sorted run ends more than twice as far away, in most of them more than three times.
# A smaller learning rate helps, because an epoch then moves the parameters less and its batches are averaged rather than followed one by one.
# It does so for both orders, and in each data set the shuffled run stays ahead.

# %%
def distances(**settings):
    """Final distances, sorted and shuffled: (seeds, 2)."""
    return torch.stack([torch.stack([torch.linalg.vector_norm(
        sgd_errors(1, order, seed, **settings)[-1])
        for order in ("sorted", "shuffled")])
        for seed in range(1, shuffle_seeds + 1)])

results, patient = distances(), distances(epochs=100, lr=0.01)
for name, table in (("lr 0.1 ", results), ("lr 0.01", patient)):
    for a, b in table.tolist():
        print(f"{name}  sorted {a:.3f}  shuffled {b:.3f}")
ratio = results[:, 0] / results[:, 1]  # (seeds,)
assert ratio.min() > 2 and ratio.median() > 3
assert (patient < results).all() and (patient[:, 0] > patient[:, 1]).all()

# %% [markdown]
# ## Sources
#
# - L. Bottou, F. E. Curtis, J. Nocedal (2018). Optimization methods for large-scale machine learning. SIAM Review 60(2). [doi:10.1137/16M1080173](https://doi.org/10.1137/16M1080173): stochastic gradients and the order of examples.
# - T. Hastie, R. Tibshirani, J. Friedman (2009). The Elements of Statistical Learning, 2nd edition, Section 3.2. [doi:10.1007/978-0-387-84858-7](https://doi.org/10.1007/978-0-387-84858-7): the standard error of least squares.
# - PyTorch documentation, [torch.utils.data](https://docs.pytorch.org/docs/stable/data.html): datasets, samplers, loaders, workers.
