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
# # 2.1 Data manipulation
#
# Images, sentences, house prices and the parameters of a network all become the same kind of object before anything is learned: a block of numbers called a *tensor*.
# This section shows how to create tensors, take them apart, combine them and compute with them.
# Its central idea is that a tensor is a way of reading one strip of memory: it lets you predict what an operation returns, whether it copies, and what else changes when you write.
#
# **You will**
#
# - create tensors, and index, reshape, join and combine them without loops;
# - draw the strip of memory under a tensor, and predict which operations copy and which share;
# - apply the broadcasting rule to two shapes on paper;
# - recognize the traps of number types: integers that wrap around, sums that lose a 1, and `nan`.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import itertools
import math
import random

import matplotlib.pyplot as plt
import numpy as np
import torch

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Tensors and their axes
#
# A *tensor* is a rectangular block of numbers that all have the same type.
# Its directions are called *axes*, and its *shape* says how many entries lie along each of them.
# PyTorch also calls an axis a dimension, `dim`; we keep that word for the argument's name.
#
# ![Four blocks of cells. A scalar is a single cell with shape (). A vector is a row of four cells with shape (4,). A matrix has three rows and four columns, shape (3, 4); axis 0 points down, axis 1 to the right. A tensor of order 3 is a stack of three such matrices, one behind the other, shape (3, 3, 4).](img/tensor-axes.svg)
#
# **Figure 2.1.1.** Tensors with zero, one, two and three axes, with their shapes, and data that have this form.
# A tensor with $k$ axes is also called a tensor of order $k$.

# %% [markdown]
# If you know NumPy, you know this object as `ndarray`, and most of what follows has a twin there.
# A PyTorch tensor adds two things.
# It can live on an accelerator such as a GPU, which works on thousands of entries at the same time.
# And it can remember how it was computed, from which derivatives follow ([Section 2.5](05-automatic-differentiation.ipynb)).
#
# `arange` counts from 0 up to, but not including, its argument:

# %%
x = torch.arange(12, dtype=torch.float32)
print(x)

# %% [markdown]
# The argument `dtype` is the type of the numbers: `float32` are real numbers stored in 32 bits, the usual type in deep learning.
# Four facts describe a tensor: how many entries, in which shape, of which type, on which device.

# %%
print("entries:", x.numel())
print("shape:  ", x.shape)  # a torch.Size, which is a tuple
print("type:   ", x.dtype)
print("device: ", x.device)

# %% [markdown]
# The device `cpu` is the ordinary memory of the machine; `x.to("cuda")` would copy `x` to an NVIDIA GPU, if there is one.
# The trailing comma of a one-axis shape such as `(12,)` is Python's way to write a tuple with one element.
# `reshape` arranges the same entries in another shape:

# %%
X = x.reshape(3, 4)
print(X)

# %% [markdown]
# The entries fill row after row, so the last axis runs fastest; this is called *row-major order*.
# The entry in row $i$ and column $j$ of a matrix with four columns is thus number $4i+j$ of the vector.
# Here rows and columns are counted from 0, as in code; most formulas in this book count from 1.
#
# The number of entries stays the same too, so one of the sizes follows from the others.
# Write $-1$ in its place and PyTorch computes it:

# %%
# check 2.1-C1: twelve entries, three rows of four, row by row
assert x.numel() == 12
assert X.shape == (3, 4) == x.reshape(-1, 4).shape == x.reshape(3, -1).shape
assert X[0, 3] == x[3]
assert all(X[i, j] == x[4 * i + j] for i in range(3) for j in range(4))

# %% [markdown]
# If no size fits, `reshape` refuses.
# This helper runs something and prints its error instead of stopping the notebook:

# %%
def attempt(action):
    """Call `action()`; print its error in one line and return the type."""
    try:
        action()
    except Exception as error:
        first_line = str(error).splitlines()[0]
        print(f"{type(error).__name__}: {first_line}")
        return type(error)


assert attempt(lambda: x.reshape(5, -1)) is RuntimeError

# %% [markdown]
# ### More ways to create tensors
#
# `zeros` and `ones` take a shape and make constants:

# %%
print(torch.zeros(2, 3, 4))

# %% [markdown]
# The parameters of a network start as random numbers.
# `randn` draws each entry from the standard normal distribution, with mean 0 and standard deviation 1.
# A `Generator` with a fixed *seed* makes the draw repeatable:

# %%
rng = torch.Generator().manual_seed(1)
draw = torch.randn(3, 4, generator=rng)
print(draw)
rng.manual_seed(1)  # back to the start
assert torch.equal(torch.randn(3, 4, generator=rng), draw)

# %% [markdown]
# Numbers that you have at hand go into nested lists, one inner list for each row of a matrix.
# One decimal point anywhere makes all entries floats:

# %%
Y = torch.tensor([[2.0, 1, 4, 3], [1, 2, 3, 4], [4, 3, 2, 1]])
print(Y.shape, Y.dtype)
print(torch.tensor([[2, 1], [4, 3]]).dtype)
assert Y.shape == X.shape and Y.dtype == torch.float32

# %% [markdown]
# ## Indexing and slicing
#
# Square brackets read entries, by the rules of Python lists, once for each axis.
# Indices count from 0, negative ones from the end, and a *slice* `start:stop` excludes `stop`, so it has `stop - start` entries.
# Axes are separated by commas; those that you do not mention are taken whole.
# A single index therefore selects along axis 0:

# %%
print("X[-1]        ", X[-1])  # last row
print("X[1:3].shape ", X[1:3].shape)  # rows 1 and 2
print("X[:, 1]      ", X[:, 1])  # column 1
print("X[1, 2]      ", X[1, 2])  # one entry, a tensor without axes
print("X[1:, 1:3]   ", X[1:, 1:3].tolist())  # a block

# %% [markdown]
# An index removes its axis; a slice keeps it, even a slice of length 1.
# So `X[:, 1]` has shape `(3,)` and `X[:, 1:2]` has shape `(3, 1)`, a difference that matters for broadcasting below.
#
# Two more selectors go by the name *advanced indexing*: a list of indices, in any order and with repetitions, and a *mask*, a tensor of truth values.

# %%
print("X[[2, 0, 2]] ", X[[2, 0, 2]].tolist())  # rows 2, 0 and 2 again
print("X > 6        ", (X > 6).tolist())
print("X[X > 6]     ", X[X > 6])  # always one axis

# %% [markdown]
# The same brackets on the left of `=` write, either one number everywhere or a tensor of fitting shape:

# %%
X[1, 2] = 17
print(X)
X[:2, :] = 12
print(X)

# %%
# check 2.1-C4: the first two rows are overwritten, the last is not
assert X.tolist() == [[12] * 4, [12] * 4, [8, 9, 10, 11]]

# %% [markdown]
# Now look at `x`, which none of these lines mention:

# %%
print(x)
assert x.tolist() == [12] * 8 + [8, 9, 10, 11]

# %% [markdown]
# It has changed as well, and the reason is worth knowing.

# %% [markdown]
# ## A strip of memory
#
# Memory has no rows and columns.
# It is one long strip of cells, and a tensor is a *storage*, which is a piece of this strip, together with three small facts that say how to read it:
#
# - the *offset*: the cell where the first entry lies;
# - the *shape*: how many entries there are along each axis;
# - the *strides*: how many cells to move forward when the index of an axis grows by one.
#
# The entry with the indices $i_1,\dots,i_k$ lies in cell
#
# $$
# p(i_1,\dots,i_k) = o + s_1 i_1 + \dots + s_k i_k, \qquad 0 \le i_j < n_j, \tag{2.1.1}
# $$
#
# where $o$ is the offset, $s_j$ the stride and $n_j$ the size of axis $j$; all are integers, and the indices $i_j$ count from 0 as in code.
# A freshly made tensor is in row-major order without gaps.
# One step along axis $j$ then jumps over everything that the later axes hold:
#
# $$
# s_j = n_{j+1} \, n_{j+2} \cdots n_k, \qquad s_k = 1. \tag{2.1.2}
# $$
#
# For shape $(3,4)$ the strides are $(4,1)$, and entry $(1,2)$ lies in cell $0 + 4\cdot 1 + 1\cdot 2 = 6$.
# For shape $(2,3,4)$ they are $(12,4,1)$.
# PyTorch tells them, and (2.1.1) is one line of code:

# %%
x = torch.arange(12, dtype=torch.float32)  # afresh: entry p is p
X = x.reshape(3, 4)
print("offset", X.storage_offset(), " strides", X.stride())
print("strides of (2, 3, 4):", torch.zeros(2, 3, 4).stride())
assert torch.zeros(2, 3, 4).stride() == (12, 4, 1)  # (2.1.2)


def cell_of(view, index):
    """Number of the storage cell that holds `view[index]`, by (2.1.1)."""
    steps = sum(s * i for s, i in zip(view.stride(), index))
    return view.storage_offset() + steps


assert cell_of(X, (1, 2)) == 6 == X[1, 2]

# %% [markdown]
# `reshape` did not move a single number.
# It made a second tensor that reads the strip of `x` with other strides.
# Such a tensor is called a *view*, and a write into a view changes the strip that others read too.
#
# Slices are views as well, because a regular selection only changes the three facts.
# `X[1:, 1:3]` starts at cell $4\cdot1+1=5$ and keeps the strides.
# `X[:, ::2]` takes every second column, so the stride of axis 1 doubles.
# The *transpose* `X.T`, in which rows become columns, swaps the two strides and leaves everything else alone.
# The folded cells draw the strip and the steps on it.

# %% tags=["hide-input"]
def paint(ax, values):
    """Cells with their numbers; nan marks a cell that is not used."""
    colors = plt.get_cmap("GnBu").with_extremes(bad="#e8e8e8")
    ax.imshow(values, cmap=colors, vmin=-3, vmax=22)
    for (i, j), value in np.ndenumerate(values):
        if not math.isnan(value):
            ax.text(j, i, f"{value:g}", ha="center", va="center", fontsize=9)
    ax.set_xticks(np.arange(values.shape[1] + 1) - 0.5, labels=[])
    ax.set_yticks(np.arange(values.shape[0] + 1) - 0.5, labels=[])
    ax.grid(color="white", lw=1.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def arc(ax, start, step, axis, side):
    """An arrow of `step` cells, above (side -1) or below the strip."""
    y, color = 0.55 * side, "#B84F00" if side < 0 else "#0072B2"
    bend = side * min(0.35, 1.6 / max(step, 1))
    style = {"arrowstyle": "->", "color": color, "lw": 1.6,
             "connectionstyle": f"arc3,rad={bend}"}
    if step:
        ax.annotate("", (start + step, y), (start, y), arrowprops=style)
    words = f"axis {axis}: +{step}" + ("" if step else ", stays here")
    ax.text(min(start + step + 0.4, 9.4), 1.15 * side, words, color=color,
            va="center", fontsize=9)

# %% tags=["hide-input"]
def draw_layout(left, right, view, name):
    """Left the entries of a view of 12 cells, right its cells."""
    table = view if view.dim() == 2 else view[None]
    paint(left, table.numpy())
    row, col = (n / 2 - 0.5 for n in table.shape)  # the centre
    left.set(xlim=(col - 3, col + 3), ylim=(row + 2.1, row - 2.1))
    left.set_title(name, family="monospace")
    left.set_xlabel(f"shape {tuple(view.shape)}")
    strip = np.full((1, 12), np.nan)
    for index in itertools.product(*map(range, view.shape)):
        strip[0, cell_of(view, index)] = view[index]
    used = np.flatnonzero(~np.isnan(strip))
    assert (strip[0, used] == used).all()  # each cell holds its number
    paint(right, strip)
    for cell in np.flatnonzero(np.isnan(strip)):
        right.text(cell, 0, cell, color="#777777", ha="center",
                   va="center", fontsize=9)
    start = view.storage_offset()
    right.plot(start, 0.38, "^", color="#222222", ms=5)
    sides = (-1, 1)[-view.dim():] if view.dim() == 2 else (-1,)
    for axis, (step, side) in enumerate(zip(view.stride(), sides)):
        arc(right, start, step, axis, side)
    right.set(xlim=(-0.6, 12.1), ylim=(1.5, -1.6))
    right.set_xlabel(f"offset {start}, strides {view.stride()}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 2, figsize=(6.4, 5.6), width_ratios=(1, 2))
fig.get_layout_engine().set(h_pad=0.12)
views = {"X": X, "X[1:, 1:3]": X[1:, 1:3], "X.T": X.T}
for (left, right), (name, view) in zip(axes, views.items()):
    draw_layout(left, right, view, name)
d2l.describe(fig, """Three views of a strip of 12 cells. X reads all of
    it with strides (4, 1). The block X[1:, 1:3] starts at cell 5, has the
    same strides and uses four cells. The transpose reads all cells with
    the strides exchanged, (1, 4).""")

# %% [markdown]
# **Figure 2.1.2.** Left a tensor, right the cells that it reads.
# Each cell holds its own number; grey cells are not read.
# The triangle marks the offset, and the arrows show one step along axis 0 (above) and axis 1 (below).
# The three tensors differ only in offset, shape and strides; the strip is the same.

# %% [markdown]
# The next figure has more views of the same twelve cells.
# Move the slider, and predict the strides before you read them.
# Two views are unusual: the diagonal is a regular walk through the strip, and the windows of `unfold(0, 6, 3)`, which have length 6 and start at every third cell, *overlap*.

# %%
views = {"X": X, "X.reshape(2, 6)": X.reshape(2, 6), "X[1]": X[1],
         "X[:, 1]": X[:, 1], "X.diagonal()": X.diagonal(),
         "X[::2]": X[::2], "X[:, ::2]": X[:, ::2], "X.T": X.T,
         "x.unfold(0, 6, 3)": x.unfold(0, 6, 3)}


def draw(fig, view):
    left, right = fig.subplots(1, 2, width_ratios=(1, 2))
    draw_layout(left, right, views[view], view)


d2l.sliders(draw, """Left the entries of the chosen view, right the strip
    of 12 cells with those it reads, its offset, and an arrow for one step
    along each axis.""", figsize=(6.4, 2.1), view=list(views))

# %% [markdown]
# **Figure 2.1.3.** Nine views of one strip.
# Any selection in equal steps forwards can be read without moving a number.

# %%
# check: every entry of every view lies where (2.1.1) says
for view in views.values():
    for index in itertools.product(*map(range, view.shape)):
        assert view[index] == x[cell_of(view, index)]

# %% [markdown]
# ### View or copy
#
# Whether two tensors share a strip can be asked: the address of the storage is the same.

# %%
def share(a, b):
    """Whether two tensors read the same storage."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


assert all(share(x, view) for view in views.values())
assert share(X[1], x) and not share(x, x.clone())

# %% [markdown]
# Views make large data cheap.
# A slice of a data set of ten gigabytes copies none of it.
# The price is that a write through a view shows everywhere; `clone()` makes a copy of your own when you do not want that.
#
# Advanced indexing copies.
# The rows of a list may come in any order, and no stride describes that; PyTorch does not check whether the list happens to be regular.

# %%
# check 2.1-C9: a slice shares, a list or a mask copies
x = torch.arange(12, dtype=torch.float32)
part = x[2:5]
part[0] = 99
assert x[2] == 99  # written through the slice

v = torch.arange(4, dtype=torch.float32)
for copy in (v[[0]], v[v < 2]):
    copy[0] = 99
assert v.tolist() == [0, 1, 2, 3]  # untouched

# %% [markdown]
# On the *left* of `=` no new tensor is made.
# Python calls a method that writes into `v` itself, so a list or a mask is fine there:

# %%
v[[0, 3]] = 7
v[v < 2] = -1
print(v)
assert v.tolist() == [7, -1, 2, 7]

# %% [markdown]
# A small view keeps the whole strip alive, so a function that returns ten entries of a large tensor should return a clone.
# And strides in PyTorch are not negative: `x[::-1]`, a view in NumPy, is an error here, and `x.flip(0)` copies.

# %%
big = torch.zeros(1_000_000)
few = big[:10]
print("bytes kept by the view: ", few.untyped_storage().nbytes())
print("bytes kept by its clone:", few.clone().untyped_storage().nbytes())
assert share(few, big) and not share(few.clone(), big)
assert attempt(lambda: x[::-1]) is ValueError
assert not share(x, x.flip(0))

# %% [markdown]
# A tensor is *contiguous* if reading it in row-major order visits its cells one after the other, that is, if its strides satisfy (2.1.2); on axes of size 1, where no step is taken, any stride will do.
# The transpose is not contiguous: its rows jump through the strip.
# No single stride arranges its entries in one row, since the steps are 4, 4, then back by 7.
# `view(shape)` promises a view and raises an error where none exists.
# `reshape(shape)` returns a view where one exists, and quietly copies otherwise.
# So read from the result of `reshape` as you like, but write to it only when you know which one you got.

# %%
# check 2.1-C13: a transpose has swapped strides and cannot be flattened
X = torch.arange(12, dtype=torch.float32).reshape(3, 4)
assert X.T.shape == (4, 3) and X.T.stride() == (1, 4)
assert X.is_contiguous() and not X.T.is_contiguous()
assert attempt(lambda: X.T.view(12)) is RuntimeError
flat = X.T.reshape(12)
assert not share(flat, X) and share(X.reshape(12), X)
assert X[:1].T.stride() == (1, 4) and X[:1].T.is_contiguous()  # (4, 1)
print(flat)

# %% [markdown]
# ## Operations
#
# Most operations on tensors are functions of numbers, applied to each entry.
# A function $f:\mathbb{R}\to\mathbb{R}$ of one number, such as $\exp$, and a function $f:\mathbb{R}\times\mathbb{R}\to\mathbb{R}$ of two, such as $+$, are *lifted* to tensors:
#
# $$
# c_i = f(u_i) \qquad\text{or}\qquad c_i = f(u_i, v_i) \qquad\text{for every } i. \tag{2.1.3}
# $$
#
# Here $u_i$, $v_i$ and $c_i$ are the entries of tensors $\mathbf{u}$, $\mathbf{v}$ and $\mathbf{c}$ of the same shape, and $i$ stands for all indices together.
# Such operations are called *elementwise*.
# No loop is written: PyTorch runs it in compiled code, on all cores or on the accelerator.

# %%
u = torch.tensor([1.0, 2, 4, 8])
v = torch.tensor([2.0, 2, 2, 2])
for name, c in (("u + v ", u + v), ("u - v ", u - v), ("u * v ", u * v),
                ("u / v ", u / v), ("u ** v", u**v), ("exp(u)", u.exp())):
    print(name, c)

# %%
# check 2.1-C5: the five operators, entry by entry
assert (u + v).tolist() == [3, 4, 6, 10]
assert (u - v).tolist() == [-1, 0, 2, 6]
assert (u * v).tolist() == [2, 4, 8, 16]
assert (u / v).tolist() == [0.5, 1, 2, 4]
assert (u**v).tolist() == [1, 4, 16, 64]

# %% [markdown]
# The star is elementwise for matrices too.
# The matrix product is another operation, written `@`, and belongs to [Section 2.3](03-linear-algebra.ipynb).
#
# ### Joining
#
# `cat` joins tensors along an axis that they have: sizes along this axis add up, and the other sizes must agree.
# `stack` puts tensors of equal shape side by side along a *new* axis.
#
# ![Two blocks with two rows and three columns, one blue and one orange. cat with dim 0 puts the orange block below the blue one: shape (4, 3). cat with dim 1 puts it to the right: shape (2, 6). stack with dim 0 puts one block behind the other: shape (2, 2, 3).](img/cat-and-stack.svg)
#
# **Figure 2.1.4.** Joining two tensors of shape $(2,3)$.
# `cat` lengthens an axis, `stack` adds one.

# %%
# check 2.1-C2: cat adds sizes, stack adds an axis
rows, columns = torch.cat((X, Y), dim=0), torch.cat((X, Y), dim=1)
print("cat:", rows.shape, "and", columns.shape)
assert rows.shape == (6, 4) and columns.shape == (3, 8)
assert torch.equal(rows[3:], Y) and torch.equal(columns[:, :4], X)
images = [torch.full((2, 3), float(k)) for k in range(4)]
batch = torch.stack(images)
print("stack:", batch.shape)
assert batch.shape == (4, 2, 3) and (batch[1] == images[1]).all()

# %% [markdown]
# Both copy their inputs into a new strip, because inputs from different strips have no common stride.
#
# ### Comparing and adding up
#
# A comparison gives a tensor of truth values, entry by entry.
# In a sum `True` counts as 1, so a sum of comparisons counts.

# %%
print(X == Y)
print("equal entries:", (X == Y).sum(), " sum of X:", X.sum())

# %%
# check 2.1-C3: equal in two places; the sum of 0, ..., 11 is 66
assert (X == Y).sum() == 2
assert (X == Y).nonzero().tolist() == [[0, 1], [0, 3]]
assert X.sum() == 66

# %% [markdown]
# With `dim` the sum runs along one axis, and that axis disappears from the shape.
# With `keepdim=True` it stays, with size 1:

# %%
print("along axis 0:", X.sum(dim=0))  # (4,): one sum for each column
print("along axis 1:", X.sum(dim=1))  # (3,): one sum for each row
kept = X.sum(dim=1, keepdim=True)
print("kept:", kept.shape)
assert kept.tolist() == [[6], [22], [38]]
assert X.sum(dim=0).tolist() == [12, 15, 18, 21]

# %% [markdown]
# ## Broadcasting mechanism
#
# Often the two shapes are not equal, and still the meaning is clear: add 1 to every entry, subtract the same row from each row, multiply each row by its own factor.
# PyTorch does this by *broadcasting*: the tensors are stretched to a common shape, and then the operation is elementwise.
# It makes programs short and some mistakes silent, so we learn the whole rule.
#
# 1. Write the two shapes one below the other, *aligned at the right*.
# 2. Where one shape is shorter, fill up with 1 on the left.
# 3. Compare the sizes $a_j$ and $b_j$ axis by axis. They fit if they are equal or if one of them is 1; otherwise it is an error.
# 4. The result has the size
#
# $$
# n_j = \begin{cases} a_j & \text{if } b_j = 1,\\ b_j & \text{otherwise,}\end{cases} \tag{2.1.4}
# $$
#
# where $a_j$, $b_j$ and $n_j$ are the sizes of axis $j$ of the two tensors and of the result, all integers.
#
# An axis of size 1 is *stretched*: its only entry is used at every index.
# In the following sum both tensors are stretched, the column to the right and the row downwards:

# %%
a = torch.arange(3).reshape(3, 1)
b = torch.arange(2).reshape(1, 2)
print(a + b)

# %%
# check 2.1-C6: a column plus a row is a table
assert (a + b).tolist() == [[0, 1], [1, 2], [2, 3]]

# %% [markdown]
# The picture shows where the entries come from.

# %% tags=["hide-input"]
def draw_stretched(ax, tensor, shape, title):
    """Entries of a matrix stretched to `shape`; copies in pale cells."""
    paint(ax, tensor.expand(shape).numpy())
    for text, index in zip(ax.texts, np.ndindex(*shape)):
        if any(i >= n for i, n in zip(index, tensor.shape)):
            ax.add_patch(plt.Rectangle(
                (index[1] - 0.46, index[0] - 0.46), 0.92, 0.92, lw=1,
                fc="white", ec="#777777", ls="--", alpha=0.8))
            text.set(color="#777777", zorder=3)
    assert len(ax.patches) == math.prod(shape) - tensor.numel()
    ax.set_title(title)


fig, axes = plt.subplots(2, 3, figsize=(6.2, 3.7))
cases = ((a, b), (X.long(), torch.tensor([5, 0, 5, 0])))
for row, (first, second), gap in zip(axes, cases, (1.5, 1.14)):
    table = first + second
    for ax, t in zip(row, (first, second, table)):
        matrix = t if t.dim() == 2 else t[None]
        draw_stretched(ax, matrix, table.shape, str(tuple(t.shape)))
    for ax, sign in zip(row, "+="):
        ax.text(gap, 0.5, sign, fontsize=16, ha="center", va="center",
                transform=ax.transAxes)
d2l.describe(fig, """Above, a column of 3 entries is repeated in two
    columns, a row of 2 entries in three rows, and their sum is a table
    with 3 rows and 2 columns. Below, a vector of 4 entries is repeated in
    each of the three rows of a matrix and added to it.""")

# %% [markdown]
# **Figure 2.1.5.** Solid cells exist, dashed ones are the stretched copies.
# Above, both operands are stretched along different axes; below, a vector of shape $(4,)$ is read as $(1,4)$ and added to each row.

# %% [markdown]
# Now try shapes yourself.
# Cover the bottom row, decide for each column whether the sizes fit, then look.
# The cell applies the four steps, and compares with PyTorch for every pair of shapes on the sliders; Exercise 2.1-6 writes the rule for any number of tensors.

# %%
firsts = [(3,), (4,), (1, 3), (5, 1, 4), (3, 1), (4, 3), (2, 1, 3)]
seconds = [(), (3,), (1, 4), (4, 1), (3, 1), (4, 3), (2, 4, 1), (5, 3, 4)]


def align(a, b):
    """Steps 1 to 4: padded shapes, sizes of the result, what fits."""
    k = max(len(a), len(b))
    a, b = ((1,) * (k - len(s)) + s for s in (a, b))
    n = tuple(s if t == 1 else t for s, t in zip(a, b))
    fits = [s == t or 1 in (s, t) for s, t in zip(a, b)]
    return a, b, n, fits


fitting = 0
for a, b in itertools.product(firsts, seconds):
    *_, n, fits = align(a, b)
    try:
        found = (torch.zeros(a) + torch.zeros(b)).shape
    except RuntimeError:
        found = None
    assert found == (n if all(fits) else None)
    fitting += all(fits)
print(fitting, "of", len(firsts) * len(seconds), "pairs fit")

# %% tags=["hide-input"]
def draw_sizes(ax, y, sizes, n, fits, missing=0):
    """A row of boxes, one for each size; the first few are `missing`."""
    for j, (size, target, fit) in enumerate(zip(sizes, n, fits)):
        face = "#cfe3f1" if size == target else "#fbe3b5"
        face = face if fit else "#f3c2b0"
        words = f"{size} → {target}" if fit and size != target else str(size)
        x = j - len(n)  # axis -1 is the rightmost column
        ax.add_patch(plt.Rectangle(
            (x - 0.46, y - 0.38), 0.92, 0.76, fc=face, ec="#222222", lw=1,
            ls="--" if j < missing else "-"))
        ax.text(x, y, words, ha="center", va="center")


def draw(fig, first, second):
    shapes = {str(s): s for s in firsts + seconds}
    a, b, n, fits = align(shapes[first], shapes[second])
    result = [size if fit else "error" for size, fit in zip(n, fits)]
    ax = fig.subplots()
    draw_sizes(ax, 2, a, n, fits, len(n) - len(shapes[first]))
    draw_sizes(ax, 1, b, n, fits, len(n) - len(shapes[second]))
    draw_sizes(ax, 0, result, result, fits)
    ax.set_yticks([2, 1, 0], labels=["first", "second", "result"])
    ax.set_xticks([-3, -2, -1], labels=["axis −3", "axis −2", "axis −1"])
    ax.set(xlim=(-3.6, -0.4), ylim=(-0.6, 2.6))
    ax.set_title(f"{first} and {second} give "
                 f"{n if all(fits) else 'an error'}")
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)

# %%
d2l.sliders(draw, """Two shapes one above the other, aligned at the right,
    with one box for each axis. Boxes say which size is stretched to which;
    the bottom row shows the shape of the result or where the error is.""",
    figsize=(4.6, 2.3), first=[str(s) for s in firsts],
    second=[str(s) for s in seconds])

# %% [markdown]
# **Figure 2.1.6.** The broadcasting rule at work.
# Blue sizes are taken as they are, yellow ones are stretched, red ones collide.
# A dashed box is a 1 that step 2 filled in.

# %% [markdown]
# ### Stretching does not copy
#
# The stretched copies exist nowhere, and (2.1.1) says how: a stride of 0 makes the index irrelevant, so every step along that axis stays on the same cell.
# `expand` returns such a stretched view:

# %% tags=["hide-input"]
column = X[:, 1:2]  # (3, 1)
assert column.flatten().tolist() == [1, 5, 9]
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 1.9),
                                  width_ratios=(1, 2.2))
draw_layout(left, right, column.expand(3, 4), "X[:, 1:2].expand(3, 4)")
d2l.describe(fig, """A matrix with three rows of four equal entries reads
    only three cells of the strip, numbers 1, 5 and 9: a step along axis 0
    moves by 4 cells, a step along axis 1 by none.""")

# %% [markdown]
# **Figure 2.1.7.** Twelve entries, three cells: axis 1 has stride 0.

# %%
# check 2.1-C8: three integers of 8 bytes, seen as twelve entries
a = torch.arange(3).reshape(3, 1)
stretched = a.expand(3, 4)
print("strides", stretched.stride(),
      " bytes", stretched.untyped_storage().nbytes())
assert stretched.shape == (3, 4) and stretched.stride() == (1, 0)
assert stretched.untyped_storage().nbytes() == 24

# %% [markdown]
# ### All pairs at once
#
# Broadcasting turns "for every pair" into one line: each of the two sets gets an axis of its own.
# The index `None` inserts an axis of size 1 where a tensor lacks one.
# Exercise 2.1-8 computes distances this way.

# %%
P, Q = torch.arange(5.0), torch.arange(7.0)
table = P[:, None] - Q[None, :]  # (5, 1) - (1, 7)
print("differences:", table.shape)
assert table.shape == (5, 7) and table[3, 6] == P[3] - Q[6] == -3

# %% [markdown]
# ## Saving memory
#
# `Y = Y + X` computes the sum into a *new* tensor and then lets the name `Y` refer to it.
# The old one is freed only if nothing else refers to it.
# Python's `id` identifies objects, so it shows the exchange:

# %%
before = id(Y)
Y = Y + X
print("same object:", id(Y) == before)

# %% [markdown]
# This matters for two reasons.
# The parameters of a model with 100 million `float32` numbers take 400 MB; a second copy during each update may not fit.
# And several parts of a program hold references to the same parameters: if one of them exchanges its tensor for a new one, the others go on with the old numbers.
#
# An *in-place* operation writes its result into existing memory: `X += Y`, an assignment to a slice, or a method whose name ends with an underscore, such as `add_`.
# `data_ptr` is the address of the first entry:

# %%
# check 2.1-C10: + makes a new tensor, += and Z[:] = keep the old one
before = id(Y)
Y = Y + X
assert id(Y) != before

Z = torch.zeros_like(Y)
addresses = Z.data_ptr(), X.data_ptr()
Z[:] = X + Y
X += Y
assert (Z.data_ptr(), X.data_ptr()) == addresses
assert torch.equal(Z, X)
torch.add(X, Y, out=Z)
assert Z.data_ptr() == addresses[0] and torch.equal(Z, X + Y)

# %% [markdown]
# `Z[:] = X + Y` keeps `Z` where it is, but still makes a temporary tensor for the sum; `torch.add(X, Y, out=Z)` does not.
#
# The second reason works in both directions.
# A function that changes its argument in place changes it for the caller:

# %%
def centre(X):
    X -= X.mean(dim=0)  # in place: the caller's tensor changes
    return X


def centre_copy(X):
    return X - X.mean(dim=0)  # a new tensor


data = torch.tensor([[1.0, 10], [3, 30]])
assert centre_copy(data).tolist() == [[-1, -10], [1, 10]]
assert data.tolist() == [[1, 10], [3, 30]]  # as it was
assert centre(data) is data and data.tolist() == [[-1, -10], [1, 10]]

# %% [markdown]
# Broadcasting and in-place operations do not mix.
# The tensor on the left cannot be stretched, since its memory is what it is, and an expanded tensor cannot be written, since one cell stands for many entries:

# %%
ones = torch.ones(3, 4)
assert attempt(lambda: torch.zeros(3, 1).add_(ones)) is RuntimeError
assert attempt(lambda: torch.zeros(3, 1).expand(3, 4).add_(ones)) \
    is RuntimeError

# %% [markdown]
# Automatic differentiation stores intermediate values in order to compute derivatives later, and an in-place operation may overwrite them.
# PyTorch usually notices and raises an error; a write through a NumPy array escapes it, as [Section 2.5](05-automatic-differentiation.ipynb) shows.
# So use `+=` for parameters and buffers, and ordinary expressions elsewhere.

# %% [markdown]
# ## Conversion to other Python objects
#
# `X.numpy()` and `torch.from_numpy(A)` do not copy: array and tensor are two readings of one strip.
# `torch.tensor(A)` always copies.

# %%
# check 2.1-C11: numpy() and from_numpy share, tensor() copies
X = torch.arange(12, dtype=torch.float32).reshape(3, 4)
A = X.numpy()
B = torch.from_numpy(A)
C = torch.tensor(A)
A[0, 0] = 99
print(type(A).__name__, " X:", X[0, 0].item(), " B:", B[0, 0].item(),
      " C:", C[0, 0].item())
assert X[0, 0] == 99 and B[0, 0] == 99 and C[0, 0] == 0

# %% [markdown]
# Sharing is possible only on the CPU, since NumPy knows no other device; for another one write `X.cpu().numpy()`, which copies.
# NumPy's floats are `float64` by default, and `from_numpy` keeps them ([Section 2.2](02-data-preprocessing.ipynb) shows what happens then).
#
# A tensor with a single entry is still a tensor.
# `item()` turns it into a Python number, as `float` and `int` do; `int` cuts off the digits after the point, also for negative numbers.

# %%
a = torch.tensor([3.5])
print(a, a.item(), float(a), int(a))

# %%
# check 2.1-C12: int truncates towards zero, it does not round down
assert (a.item(), float(a), int(a)) == (3.5, 3.5, 3)
assert int(torch.tensor([-3.7])) == -3 and math.floor(-3.7) == -4

# %% [markdown]
# On a GPU, `item()` has to wait until the device has finished, so a loop should not call it after every operation.

# %% [markdown]
# ## Number types
#
# All entries of a tensor have one type, which decides how many bytes they take, which numbers exist, and what arithmetic does at the limits.
#
# | type | bytes | values | used for |
# | --- | --- | --- | --- |
# | `float32` | 4 | about 7 digits, up to $3\cdot10^{38}$ | parameters, results; the default |
# | `float64` | 8 | about 16 digits, up to $10^{308}$ | checks of formulas; NumPy's default |
# | `float16` | 2 | about 3 digits, up to 65 504 | fast products on accelerators |
# | `bfloat16` | 2 | 2 to 3 digits, up to $3\cdot10^{38}$ | the same, where large numbers occur |
# | `int64` | 8 | whole numbers up to $9\cdot10^{18}$ | counts, indices, class labels |
# | `uint8` | 1 | 0, ..., 255 | pixels |
# | `bool` | 1 | `False`, `True` | masks |
#
# A result of mixed types gets the kind that can hold both, in the order bool, integer, float; Exercise 2.1-7 has the details.

# %% [markdown]
# ### Floats have gaps
#
# A float is a whole number of at most $p$ binary digits, the *mantissa*, times a power of two.
# Between $2^k$ and $2^{k+1}$ there are $2^{p-1}$ such numbers, equally spaced, so the gap between neighbours is
#
# $$
# g = 2^{k-p+1}, \qquad 2^k \le x < 2^{k+1}, \tag{2.1.5}
# $$
#
# where $x$ is a positive float, $k$ an integer, and $p$ is 24 for `float32`, 53 for `float64`, 11 for `float16` and 8 for `bfloat16`.
# The gap grows with the number; relative to the number it lies between $2^{-p}$ and $2^{1-p}$.
# (Below about $10^{-38}$ a `float32` has a last, constant gap, and the relative one grows.)
# At $k=24$ a `float32` has the gap $2^{24-24+1}=2$: above $2^{24}=16\,777\,216$ the odd numbers do not exist.

# %% tags=["hide-input"]
bits = {"bfloat16": 8, "float16": 11, "float32": 24}
top = {"bfloat16": 30, "float16": 16, "float32": 30}  # float16 ends here
xs = [2.0 ** torch.linspace(0, top[name] - 0.01, 400) for name in bits]
gaps = [2.0 ** (v.log2().floor() - p + 1) for v, p in zip(xs, bits.values())]
assert all(gap[0] == torch.finfo(getattr(torch, name)).eps  # next to 1
           for gap, name in zip(gaps, bits))
ax = d2l.plot(xs, gaps, list(bits), xlabel="number",
              ylabel="gap to the next number", fmts=["-"])
ax.set_xscale("log", base=2)
ax.set_yscale("log", base=2)
ax.set_xticks([2.0**k for k in range(0, 31, 5)])
ax.set_yticks([2.0**k for k in range(-24, 25, 8)])
ax.axhline(1, color="#777777", lw=1)
ax.text(1, 1.5, "gap 1", color="#555555", fontsize=9)
d2l.describe(ax, """Gap between neighbouring floats against their size, on
    logarithmic axes: three parallel staircases. The gap reaches 1 at 2 to
    the power 7 for bfloat16, 10 for float16 and 23 for float32.""")

# %% [markdown]
# **Figure 2.1.8.** The gap doubles with each power of two.
# Where a staircase is above the grey line, whole numbers are missing.

# %% [markdown]
# A result that falls into a gap is rounded to the nearer end, or, in the middle, to the end whose mantissa is even.
# So adding less than half a gap changes nothing, and a count in floats gets stuck:

# %%
# check 2.1-C14: adding 1 without effect, and a byte that wraps around
assert torch.tensor(2.0**24) + 1 == 2.0**24
count = torch.tensor(0, dtype=torch.bfloat16)
for _ in range(1000):
    count += 1
print("bfloat16 counts to", count.item())
assert count == 2**8
pixels = torch.tensor([255, 10], dtype=torch.uint8)
print("pixels + 1: ", (pixels + 1).tolist())
print("pixels - 20:", (pixels - 20).tolist())
assert (pixels + 1)[0] == 0 and (pixels - 20)[1] == 246

# %% [markdown]
# Integers have no gaps but an end.
# Beyond it they wrap around without a word, as the two lines about pixels show: make images floats *before* you subtract them.
#
# Because of the gaps, two ways to compute the same number may differ in the last digits.
# Compare floats with a tolerance, by `torch.allclose`, or in a test by `torch.testing.assert_close`:

# %%
tenth = torch.tensor([0.1, 0.2], dtype=torch.float64)
print("exactly equal:", (tenth.sum() == 0.3).item(),
      "  close:", np.isclose(tenth.sum().item(), 0.3).item())
assert tenth.sum() != 0.3 and math.isclose(tenth.sum(), 0.3)
x32 = torch.tensor(1000.0)
neighbour = torch.nextafter(x32, torch.tensor(math.inf))
assert neighbour - x32 == 2.0 ** (9 - 24 + 1)  # (2.1.5): 2**9 <= 1000
for number in (1.0, 1.5, 1.999, 1e-30, 3e38):  # the relative gap
    number = torch.tensor(number, dtype=torch.float64).float()
    above = torch.nextafter(number, torch.tensor(math.inf))
    assert 2.0**-24 < (above - number) / number <= 2.0**-23
smallest = torch.nextafter(torch.tensor(0.0), torch.tensor(1.0))
assert smallest == 2.0**-149  # the constant gap below 2**-126

# %% [markdown]
# ### Not a number
#
# Where arithmetic has no answer, as in $0/0$ or $\infty-\infty$, floats give `nan`, *not a number*.
# It differs from everything, even from itself, and it spreads: a sum with one `nan` is `nan`.
# Find it by `isnan`, since `==` does not:

# %%
values = torch.tensor([1.0, math.nan, 3.0])
print("equal to itself:", (values == values).tolist())
print("is nan:         ", values.isnan().tolist())
print("sum", values.sum().item(), " without nan", values.nansum().item())
assert values[1] != values[1] and values.sum().isnan()

# %% [markdown]
# ## Summary
#
# - A tensor is a strip of memory read with an offset, a shape and strides; entry $(i_1,\dots,i_k)$ lies in cell $o+\sum_j s_ji_j$.
# - Slices, transposes and stretched tensors are views: they share the strip, and writing into one shows in all. Lists, masks and arithmetic copy; `reshape` does either.
# - Broadcasting aligns shapes at the right; sizes fit if they are equal or one of them is 1, and stretching is a stride of 0.
# - `Y = Y + X` makes a new tensor; `Y += X` and `Y[:] = ...` write into the old one, and everything that refers to it sees the change.
# - `numpy()` and `from_numpy` share memory; `torch.tensor` copies.
# - Types have limits: counting by ones in `float32` stops at $2^{24}$, integers wrap around, `nan` is not equal to itself.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 2.1-1
#
# With $\mathbf{X}$ and $\mathbf{Y}$ as at the beginning of the section, write down the matrices `X < Y` and `X > Y`, then let PyTorch compute them.
# What do the numbers of `True` in `X < Y`, `X == Y` and `X > Y` add up to?
# Is it always so?

# %% [markdown]
# #### Solution 2.1-1

# %% [markdown]
# Only the first row needs a look: every entry of the other two is at least 4, and each lies above its partner in $\mathbf{Y}$.
# For each pair of numbers exactly one of the three comparisons holds, so the counts add up to 12, unless an entry is `nan`, which is neither smaller nor equal nor larger.

# %%
X = torch.arange(12, dtype=torch.float32).reshape(3, 4)
Y = torch.tensor([[2.0, 1, 4, 3], [1, 2, 3, 4], [4, 3, 2, 1]])
print("X < Y:", (X < Y).tolist())
counts = [(X < Y).sum(), (X == Y).sum(), (X > Y).sum()]
assert [int(c) for c in counts] == [2, 2, 8] and sum(counts) == 12
X[2, 2] = math.nan
assert (X < Y).sum() + (X == Y).sum() + (X > Y).sum() == 11

# %% [markdown]
# ### Exercise 2.1-2
#
# Which of these pairs of shapes can be added, and what is the shape of the sum?
#
# | | first | second |
# | --- | --- | --- |
# | a | $(2,1,4)$ | $(1,3,1)$ |
# | b | $(2,3,4)$ | $(2,1,3)$ |
# | c | $(5,1,1)$ | $(1,1,7)$ |
# | d | $(2,3,1)$ | $(3,2,1)$ |
# | e | $(6,3,2)$ | $(1,3,2)$ |

# %% [markdown]
# #### Solution 2.1-2

# %% [markdown]
# b fails at the last axis, with 4 against 3, and d at the first two, with 2 against 3 and 3 against 2.
# The sums of the others have the shapes $(2,3,4)$, $(5,1,7)$ and $(6,3,2)$.

# %%
answers = {"a": ((2, 1, 4), (1, 3, 1), (2, 3, 4)),
           "b": ((2, 3, 4), (2, 1, 3), None),
           "c": ((5, 1, 1), (1, 1, 7), (5, 1, 7)),
           "d": ((2, 3, 1), (3, 2, 1), None),
           "e": ((6, 3, 2), (1, 3, 2), (6, 3, 2))}
for name, (first, second, expected) in answers.items():
    try:
        found = (torch.zeros(first) + torch.zeros(second)).shape
    except RuntimeError:
        found = None
    assert found == expected, name

# %% [markdown]
# ### Exercise 2.1-3
#
# The *softmax* turns the rows of a matrix $\mathbf{O}$ into positive numbers that add up to 1: $\exp(o_{ij})$ divided by the sum of $\exp(o_{ik})$ over the entries $k$ of row $i$.
# Write it without a loop.
# What happens if you forget `keepdim=True`, for shape $(3,4)$ and for shape $(4,4)$?

# %% [markdown]
# #### Solution 2.1-3

# %% [markdown]
# The row sums need shape $(n,1)$ in order to be stretched along the row.
# Without `keepdim` they have shape $(n,)$, which is aligned with the *columns*.
# For $(3,4)$ that is an error; for a square matrix it is none, and column $j$ is divided by the sum of row $j$.
# [Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb) uses this function, and [Section 4.5](../04-linear-classification/05-softmax-regression-concise.ipynb) makes it safe for large entries.

# %%
def softmax(O):
    exps = O.exp()
    return exps / exps.sum(dim=1, keepdim=True)  # (n, m) / (n, 1)


rng = torch.Generator().manual_seed(3)
O = torch.randn(3, 4, generator=rng)
torch.testing.assert_close(softmax(O).sum(dim=1), torch.ones(3))
torch.testing.assert_close(softmax(O), torch.softmax(O, dim=1))
assert attempt(lambda: O.exp() / O.exp().sum(dim=1)) is RuntimeError
square = torch.randn(4, 4, generator=rng).exp()
rows = (square / square.sum(dim=1)).sum(dim=1)
assert (rows - 1).abs().max() > 0.1  # silent, and wrong

# %% [markdown]
# ### Exercise 2.1-4
#
# Which of these eight tensors share the storage of `x = torch.arange(12.0)`?
#
# 1. `x[2:5]`
# 2. `x[[2, 3, 4]]`
# 3. `x.reshape(3, 4).T`
# 4. `x.reshape(3, 4).T.reshape(12)`
# 5. `x + 0`
# 6. `x.to(torch.float32)`
# 7. `torch.from_numpy(x.numpy())`
# 8. `x[x >= 0]`

# %% [markdown]
# #### Solution 2.1-4

# %% [markdown]
# The first is a slice, the third changes only strides, the seventh goes through an array on the same strip.
# The sixth is the trap: `x` has this type already, and then `to` returns `x` itself, not a copy.
# The others copy: a list, a flattened transpose, arithmetic, a mask.

# %%
x = torch.arange(12.0)
candidates = [x[2:5], x[[2, 3, 4]], x.reshape(3, 4).T,
              x.reshape(3, 4).T.reshape(12), x + 0, x.to(torch.float32),
              torch.from_numpy(x.numpy()), x[x >= 0]]
sharing = [k for k, t in enumerate(candidates, 1) if share(x, t)]
print("sharing:", sharing)
assert sharing == [1, 3, 6, 7] and candidates[5] is x

# %% [markdown]
# ### Exercise 2.1-5
#
# A model returns predictions $\hat{\mathbf{y}}$ of shape $(n,1)$, and the labels $\mathbf{y}$ have shape $(n,)$.
# What is the shape of `y_hat - y`?
# Suppose that all predictions are perfect: what is the mean of the squared differences then?

# %% [markdown]
# #### Solution 2.1-5

# %% [markdown]
# Aligned at the right, $(n,1)$ and $(1,n)$ give $(n,n)$: entry $(i,j)$ is prediction $i$ minus label $j$.
# For perfect predictions the mean of the squares is
# $\frac{1}{n^2}\sum_{i,j}(y_i-y_j)^2 = 2\,\frac1n\sum_i(y_i-\bar y)^2$,
# twice the variance of the labels, where $\bar y$ is their mean.
# No error, no warning, and a loss that is not 0 for perfect predictions.
# [Section 3.4](../03-linear-regression/04-linear-regression-scratch.ipynb) meets this trap in a training loop.

# %%
rng = torch.Generator().manual_seed(4)
y = torch.randn(50, generator=rng)
y_hat = y.reshape(-1, 1)  # perfect predictions
assert (y_hat - y).shape == (50, 50)
wrong = ((y_hat - y) ** 2).mean()
torch.testing.assert_close(wrong, 2 * y.var(correction=0))
assert ((y_hat - y.reshape(-1, 1)) ** 2).mean() == 0

# %% [markdown]
# ### Exercise 2.1-6
#
# Write the broadcasting rule as a program, `broadcast_shape(*shapes)`, for any number of shapes, with an error that says what does not fit.
# Compare it with PyTorch on many random shapes, those that fit and those that do not.

# %% [markdown]
# #### Solution 2.1-6

# %% [markdown]
# With more than two tensors the rule is: along each axis, all sizes other than 1 must be the same.

# %%
def broadcast_shape(*shapes):
    """Shape of an elementwise result of tensors of these shapes.

    Raises ValueError where two sizes differ and neither is 1.
    """
    backwards = [reversed(shape) for shape in shapes]
    result = []
    for sizes in itertools.zip_longest(*backwards, fillvalue=1):
        larger = set(sizes) - {1}
        if len(larger) > 1:
            raise ValueError(f"sizes {sizes} of axis {-len(result) - 1} "
                             f"do not fit; equal sizes or 1 would")
        result.append(larger.pop() if larger else 1)
    return tuple(reversed(result))


print(broadcast_shape((5, 1, 4), (3, 1)))
assert attempt(lambda: broadcast_shape((3,), (4,))) is ValueError
assert attempt(lambda: torch.zeros(3) + torch.zeros(4)) is RuntimeError

# %% [markdown]
# We compare it with PyTorch on 200 random sets of shapes that fit, and on as many that do not.
# To make shapes that fit, start from the result, cut off some leading axes and replace some sizes by 1.
# To make them collide, append one shape with a single wrong size.

# %%
# check 2.1-C7: the same shapes, and errors in the same cases
draws = random.Random(0)
for _ in range(200):
    goal = [draws.randint(2, 5) for _ in range(draws.randint(1, 4))]
    shapes = [tuple(draws.choice((1, n)) for n in goal)
              [draws.randint(0, len(goal)):] for _ in range(3)]
    expected = torch.broadcast_shapes(*shapes)
    assert broadcast_shape(*shapes) == expected
    axis = draws.randrange(len(goal))
    wrong = [n + 1 if j == axis else 1 for j, n in enumerate(goal)]
    for rule, kind in ((broadcast_shape, ValueError),
                       (torch.broadcast_shapes, RuntimeError)):
        try:
            rule(*shapes, goal, wrong)
            raise AssertionError(f"{shapes} should not fit {wrong}")
        except kind:
            pass
assert broadcast_shape((5, 1, 4), (3, 1)) == (5, 3, 4)

# %% [markdown]
# ### Exercise 2.1-7
#
# Predict the type of each sum: `int64` with `int64`, with `0.5` and with `float32`; `float32` with `0.5` and with `float64`; and of `int64` divided by `int64`.
# Then find the cases in which NumPy decides otherwise.

# %% [markdown]
# #### Solution 2.1-7

# %% [markdown]
# Integers stay integers under `+`, `-` and `*`, but `/` always gives floats.
# In mixed expressions the result takes the kind that can hold both, in the order bool, integer, float.
# Between tensors of the same kind the larger type wins.
# A plain Python number, or a tensor without axes, counts only if it is of a higher kind than the tensors with axes: it never makes a `float32` tensor into a `float64` one.

# %%
i = torch.arange(3)
f, d = i.to(torch.float32), i.to(torch.float64)
for name, result in (("int + int", i + i), ("int / int", i / i.add(1)),
                     ("int + 0.5", i + 0.5), ("int + float32", i + f),
                     ("float32 + 0.5", f + 0.5),
                     ("float32 + float64", f + d)):
    print(f"{name:18}", result.dtype)

# %% [markdown]
# NumPy differs in three lines, all with an integer array: divided, plus `0.5`, or plus a `float32` array, it gives `float64`.
# PyTorch takes its default type, `float32`, in the first two, and in the third the only float type that is there.
# An in-place operation keeps the type of its left side, and is an error where that loses the fraction; and a mean of integers must be asked for as a float.

# %%
def six(i, f, d):
    return i + i, i / (i + 1), i + 0.5, i + f, f + 0.5, f + d


ours, theirs = six(i, f, d), six(i.numpy(), f.numpy(), d.numpy())
differ = [k for k, (t, a) in enumerate(zip(ours, theirs), 1)
          if t.numpy().dtype != a.dtype]
assert differ == [2, 3, 4]
assert all(theirs[k - 1].dtype == np.float64 for k in differ)
assert (f + d[0]).dtype == torch.float32  # d[0] has no axes ...
assert (i + d[0]).dtype == torch.float64  # ... and a higher kind than i
assert attempt(lambda: i.add_(0.5)) is RuntimeError
assert attempt(lambda: i.mean()) is RuntimeError
assert i.float().mean() == 1

# %% [markdown]
# ### Exercise 2.1-8
#
# Take 5 points and 7 points in space, as the rows of $\mathbf{P}\in\mathbb{R}^{5\times3}$ and $\mathbf{Q}\in\mathbb{R}^{7\times3}$.
# The distance of point $i$ of the first set from point $j$ of the second is
#
# $$
# d_{ij} = \Big( \sum_{k=1}^{3} (p_{ik} - q_{jk})^2 \Big)^{1/2}, \tag{2.1.6}
# $$
#
# where $p_{ik}$ and $q_{jk}$ are coordinate $k$ of the two points, and the distances form a matrix of shape $(5,7)$.
# Compute them without a loop.
# How much memory does the computation need for two sets of 10 000 points with 100 coordinates?

# %% [markdown]
# #### Solution 2.1-8

# %% [markdown]
# The indices $i$, $j$, $k$ need an axis each.

# %%
rng = torch.Generator().manual_seed(2)
P = torch.randn(5, 3, generator=rng)
Q = torch.randn(7, 3, generator=rng)
difference = P[:, None, :] - Q[None, :, :]  # (5, 1, 3) - (1, 7, 3)
print("differences:", difference.shape)  # (5, 7, 3)
distance = (difference**2).sum(dim=2).sqrt()  # (5, 7)

# %%
# check 2.1-C15: the same as the built-in function
torch.testing.assert_close(distance, torch.cdist(P, Q), rtol=0, atol=1e-5)
one = math.dist(P[4].tolist(), Q[6].tolist())
assert abs(distance[4, 6].item() - one) < 1e-5

# %% [markdown]
# The operands are not copied, but the *result* of the subtraction is a real tensor with an entry for each triple.
# For the large sets these are $10^{10}$ numbers of 4 bytes, 40 gigabytes, although the distances take only a hundredth of that.
# `torch.cdist` avoids the intermediate tensor.

# %% [markdown]
# ## Sources
#
# - C. R. Harris et al., Array programming with NumPy, 2020, [doi:10.1038/s41586-020-2649-2](https://doi.org/10.1038/s41586-020-2649-2): arrays as memory with shape and strides, views, broadcasting.
# - A. Paszke et al., PyTorch: An imperative style, high-performance deep learning library, 2019, [arXiv:1912.01703](https://arxiv.org/abs/1912.01703).
# - PyTorch documentation: [tensor views](https://docs.pytorch.org/docs/stable/tensor_view.html), [broadcasting semantics](https://docs.pytorch.org/docs/stable/notes/broadcasting.html), [type promotion](https://docs.pytorch.org/docs/stable/tensor_attributes.html).
# - D. Goldberg, What every computer scientist should know about floating-point arithmetic, 1991, [doi:10.1145/103162.103163](https://doi.org/10.1145/103162.103163).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
