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
# # 2.3 Linear algebra
#
# Most of the arithmetic in most networks is the multiplication of matrices.
# There are several products that look alike on paper, and a few that look alike in code and are not.
# This section goes through them from the single number to the matrix product, and shows which mistakes raise an error and which stay silent.

# %% [markdown]
# **You will**
#
# - translate between formulas with vectors and matrices and tensor code, shapes included;
# - tell the elementwise, dot, matrix-vector and matrix-matrix products apart, and compute the last one in four ways;
# - see a matrix as a map that turns, stretches or flattens space;
# - reduce along the axis you mean, and recognize the broadcasting mistake that only square matrices hide;
# - choose between the norms $\ell_1$, $\ell_2$, $\ell_\infty$, Frobenius and spectral.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64  # lets us check identities to ten digits

# %% [markdown]
# ## Scalars, vectors, matrices, tensors
#
# ### Scalars
#
# A *scalar* is a single number, such as a temperature.
# To convert 72 degrees Fahrenheit to Celsius one evaluates
#
# $$c = \tfrac59\,(f-32), \tag{2.3.1}$$
#
# where the *variables* $f$ and $c$ stand for scalars that are not known in advance; the values 5, 9 and 32 are constants.
# We write $x\in\mathbb{R}$ to say that $x$ is a real number.
# In code a scalar is a tensor with one element and no axis.

# %%
f = torch.tensor(72.0)
c = 5 / 9 * (f - 32)
print(f"{f.item():.0f} F = {c.item():.1f} C, shape {tuple(c.shape)}")
assert abs(c.item() - 22.2) < 0.05 and c.ndim == 0

# %% [markdown]
# ### Vectors
#
# A *vector* is a list of scalars in a fixed order, its *elements* (also: entries, components).
# A patient may be described by age, weight and blood pressure, a house by its area and its age: one number for each feature, always in the same place.
# We write vectors in bold, and read them as columns:
#
# $$\mathbf{x} = \begin{bmatrix}x_1\\ \vdots\\ x_n\end{bmatrix} = [x_1,\dots,x_n]^\top\in\mathbb{R}^n, \tag{2.3.2}$$
#
# where $x_i$, not bold because it is a number, is element $i$, and $n$ is the *length* or *dimensionality* of the vector.
# Formulas count from 1 and code from 0, so $x_1$ is `x[0]`.
#
# A column in a formula is usually a tensor with *one* axis in code.
# This vector has dimensionality $n$, while the tensor has one axis and calls that `ndim == 1`.
# We say *dimensionality* for the number of elements, and *axes* (or *order*) for the number of indices.

# %%
x = torch.arange(3)
print(x, "length", len(x), "shape", tuple(x.shape), "axes", x.ndim)

# %% [markdown]
# A vector is also a point in space, or an arrow from the origin to that point.
# With arrows the two basic operations have a meaning that needs no coordinates: a sum puts one arrow at the tip of the other, and a scalar multiple changes the length and, if negative, reverses the direction.

# %% tags=["hide-input"]
def arrow(ax, end, color, label, start=(0.0, 0.0), ls="-", at=(0.1, 0.1)):
    """Draw an arrow from `start` to `end`, its name near the tip."""
    ax.annotate("", end, start, arrowprops={
        "arrowstyle": "->", "color": color, "lw": 2, "ls": ls,
        "shrinkA": 0, "shrinkB": 0})
    ax.text(end[0] + at[0], end[1] + at[1], label, color=color)


_, (left, right) = plt.subplots(1, 2, figsize=(6.6, 2.7))
arrow(left, (2, 1), "C0", "x")
arrow(left, (3, 3), "C0", "", start=(1, 2), ls="--")
arrow(left, (1, 2), "C1", "y", at=(-0.25, 0.1))
arrow(left, (3, 3), "black", "x + y")
left.set(xlim=(-0.4, 4.2), ylim=(-0.4, 3.6))
arrow(right, (3, 1.5), "C3", "1.5 x", at=(-0.2, 0.2))
arrow(right, (2, 1), "C0", "x", at=(-0.15, 0.2))
arrow(right, (-1, -0.5), "C1", "−0.5 x", at=(-0.2, -0.55))
right.set(xlim=(-1.6, 3.6), ylim=(-1.4, 2.4))
for ax in (left, right):
    ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
d2l.describe(left, """Left: the arrows x = (2, 1) and y = (1, 2) and their
    sum (3, 3), which is reached by putting x at the tip of y. Right: x,
    1.5 x in the same direction, and -0.5 x in the opposite one.""")

# %% [markdown]
# **Figure 2.3.1.** Sum and scalar multiples of vectors, as arrows.

# %% [markdown]
# ### Matrices
#
# A *matrix* has rows and columns:
#
# $$\mathbf{A} = \begin{bmatrix}a_{11}&\cdots&a_{1n}\\ \vdots&\ddots&\vdots\\ a_{m1}&\cdots&a_{mn}\end{bmatrix}\in\mathbb{R}^{m\times n}, \tag{2.3.3}$$
#
# with $m$ rows, $n$ columns, and the number $a_{ij}$ in row $i$ and column $j$.
# For $m=n$ it is *square*.
# Throughout this book a matrix of data has one *row* for each example and one column for each feature, so a loop over the first axis meets one example after the other.

# %%
A = torch.arange(6).reshape(2, 3)
print(A)
print("shape", tuple(A.shape), " row 1, column 2:", A[1, 2].item())

# %% [markdown]
# The *transpose* swaps rows and columns: $\mathbf{B}=\mathbf{A}^\top$ has the entries
#
# $$b_{ij} = a_{ji}, \tag{2.3.4}$$
#
# and for $\mathbf{A}\in\mathbb{R}^{m\times n}$ it lies in $\mathbb{R}^{n\times m}$.
# A square matrix that equals its transpose, $\mathbf{A}=\mathbf{A}^\top$, is *symmetric*; a table of distances between cities is one.
# In code `A.T` is the transpose of a matrix; `A.mT` swaps the last two axes of any tensor, which is what one wants for a stack of matrices.

# %%
print(A.T)
distances = torch.tensor([[0, 3, 5], [3, 0, 4], [5, 4, 0]])
assert (distances == distances.T).all()  # symmetric
assert (distances.diagonal() == 0).all()  # no way from a city to itself
assert A.T.shape == (3, 2) and A.T[2, 1] == A[1, 2]
assert torch.zeros(10, 2, 3).mT.shape == (10, 3, 2)  # ten matrices

# %% [markdown]
# A tensor with one axis is neither a row nor a column, and has nothing to swap: `x.T` returns it as it is, with a warning that this use is deprecated, and `x.mT` is an error.
# Ask for `x[:, None]`, shape $(n,1)$, when you need the column.
#
# ### Tensors
#
# An image has three indices: height, width, and colour channel.
# Objects with any number $k$ of axes are *tensors of order $k$*, and scalars, vectors and matrices are those of order 0, 1 and 2 (Figure 2.1.1 of [Section 2.1](01-data-manipulation.ipynb)).
# A batch of images has four axes, since one more index counts the images.
# Libraries differ in the order of these axes; PyTorch puts the channel before height and width.

# %%
image = torch.zeros(3, 28, 32)  # (channel, height, width)
batch = torch.stack([image] * 10)  # (image, channel, height, width)
print(tuple(batch.shape), "order", batch.ndim)
assert batch.permute(0, 2, 3, 1).shape == (10, 28, 32, 3)  # channel last

# %% [markdown]
# ## Arithmetic entry by entry
#
# Sums and multiples of matrices work entry by entry, as for vectors.
# So does the *Hadamard product*, written $\odot$:
#
# $$[\mathbf{A}\odot\mathbf{B}]_{ij} = a_{ij}b_{ij}, \tag{2.3.5}$$
#
# where $\mathbf{A}$, $\mathbf{B}$ and the result all have the same shape $m\times n$.
# In code it is the star, `A * B`.
# Deep learning uses it often: a mask that switches entries off is a Hadamard product with zeros and ones.
#
# To have two tensors that can be changed separately, we need a copy.
# `B = A` makes none, it only gives the same tensor a second name; `A.clone()` allocates new memory.

# %%
A = torch.arange(6, dtype=torch.float32).reshape(2, 3)
B = A.clone()
print(A * B)

# %%
# check 2.3-C1: Hadamard product; a clone is independent, a name is not
assert torch.equal(A * B, torch.tensor([[0.0, 1, 4], [9, 16, 25]]))
assert (A * B).dtype == torch.float32
B += 100  # in place
assert A[0, 0] == 0 and B[0, 0] == 100
alias = A
assert alias is A and alias.data_ptr() == A.data_ptr() != B.data_ptr()

# %% [markdown]
# A scalar combines with every entry and leaves the shape as it is:

# %%
print(2 + A)
assert (2 + A).shape == (3 * A).shape == A.shape

# %% [markdown]
# ## Reduction
#
# A *reduction* makes many entries into few, most often by a sum.
# $\sum_{i=1}^n x_i$ adds up a vector, and $\sum_{i=1}^m\sum_{j=1}^n a_{ij}$ a matrix.
# If we sum over one index only, the other survives:
#
# $$s_j = \sum_{i=1}^m a_{ij},\qquad r_i = \sum_{j=1}^n a_{ij}, \tag{2.3.6}$$
#
# where $\mathbf{s}\in\mathbb{R}^n$ holds the sums of the columns and $\mathbf{r}\in\mathbb{R}^m$ those of the rows.
# The rule in code is the same: *the axis that you name is the one that disappears*.
#
# ![Three sums of the matrix with rows 0 1 2 and 3 4 5. All entries: 15. sum(dim=0): arrows run down the columns to 3, 5, 7, shape (3,). sum(dim=1): arrows run along the rows to 3 and 12, shape (2,), or (2, 1) with keepdim.](img/reduction-axes.svg)
#
# **Figure 2.3.2.** Axis 0 runs down and counts rows, so a sum over axis 0 has one entry for each column.

# %%
# check 2.3-C8: total, sums along both axes, mean
print("dim=0:", A.sum(dim=0).tolist(), " dim=1:", A.sum(dim=1).tolist())
assert A.sum() == 15 == A.sum(dim=(0, 1))
assert A.sum(dim=0).tolist() == [3, 5, 7]
assert A.sum(dim=1).tolist() == [3, 12]
assert A.mean() == 2.5 == A.sum() / A.numel()
assert torch.equal(A.mean(dim=0), A.sum(dim=0) / A.shape[0])

# %% [markdown]
# Integers have no mean in PyTorch: `torch.arange(6).mean()` raises an error and asks for a float type.
#
# ### Keeping the axis
#
# Often the sums are needed to divide by, for instance to make each row add up to 1.
# With `keepdim=True` the reduced axis stays, with length 1, and broadcasting stretches it over the row again.

# %%
row_sums = A.sum(dim=1, keepdim=True)  # (2, 1)
print(A / row_sums)  # (2, 3) / (2, 1)
print("sums of the rows:", (A / row_sums).sum(dim=1).tolist())

# %% [markdown]
# Without `keepdim` the sums have shape `(2,)`, and broadcasting aligns shapes from the right: the 2 meets the 3 columns, and an error says so.
# For a *square* matrix the shapes fit, the sum of row $j$ divides column $j$, and there is no error:

# %%
square = torch.arange(1.0, 10).reshape(3, 3)
wrong = square / square.sum(dim=1)  # (3, 3) / (3,)
right = square / square.sum(dim=1, keepdim=True)  # (3, 3) / (3, 1)

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 3, figsize=(7.6, 2.3))
for ax, matrix, title in zip(axes, (square, wrong, right), (
        "A", "A / A.sum(1)", "with keepdim=True")):
    sums = [f"{s:.3g}" for s in matrix.sum(dim=1).tolist()]
    d2l.heatmap(matrix, title=title, annotate=".3g", rows=sums, ax=ax)
    ax.set(xticks=[], ylabel="sum of the row")
d2l.describe(axes, """Three heat maps: a 3 by 3 matrix, the matrix divided
    by its row sums without keepdim, whose rows add up to 0.425, 1.25 and
    2.08, and with keepdim, whose rows add up to 1.""")

# %% [markdown]
# **Figure 2.3.3.** The same division with and without `keepdim` on a square matrix: the middle result is wrong and raises no error.

# %%
# check 2.3-C9: keepdim; an error for (2, 3), a wrong result for (3, 3)
torch.testing.assert_close((A / row_sums).sum(dim=1), torch.ones(2))
try:
    A / A.sum(dim=1)
    raise AssertionError("shapes (2, 3) and (2,) should not fit")
except RuntimeError as error:
    print(error)
torch.testing.assert_close(right.sum(dim=1), torch.ones(3))
torch.testing.assert_close(wrong.sum(dim=1),
                           torch.tensor([0.425, 1.25, 2.075]))

# %% [markdown]
# In a batch, the number of examples may happen to equal the number of features, and then a mistake that fails loudly for other sizes is silent.
# Where a reduced tensor meets the original one again, write `keepdim=True`.
#
# A relative of the sum keeps every intermediate result: `cumsum` adds up along an axis and does not shorten it.

# %%
print(A.cumsum(dim=0))
assert torch.equal(A.cumsum(dim=0)[-1], A.sum(dim=0))

# %% [markdown]
# ## Dot product
#
# You buy 2 kg of apples at 3 euros and 4 kg of bread at 5 euros, and pay $2\cdot3+4\cdot5=26$ euros.
# Multiply entry by entry, then sum: this is the *dot product* of two vectors of equal length,
#
# $$\mathbf{x}^\top\mathbf{y} = \langle\mathbf{x},\mathbf{y}\rangle = \sum_{i=1}^n x_iy_i, \tag{2.3.7}$$
#
# a number; $\mathbf{x},\mathbf{y}\in\mathbb{R}^n$.
# The first notation reads it as a matrix product of a row, $1\times n$, with a column, $n\times1$.

# %%
# check 2.3-C2: three ways to write the same number
x = torch.arange(3, dtype=torch.float32)
y = torch.ones(3)
print(torch.dot(x, y), x @ y, (x * y).sum())
assert torch.dot(x, y) == 3 == (x * y).sum() == x @ y

# %% [markdown]
# If $\mathbf{w}$ holds weights, $\mathbf{w}^\top\mathbf{x}$ is a *weighted sum* of the entries of $\mathbf{x}$: this is the prediction of a linear model ([Section 3.1](../03-linear-regression/01-linear-regression.ipynb)).
# If the weights are nonnegative and add up to 1, it is a *weighted average*, which lies between the smallest and the largest entry.

# %%
grades = torch.tensor([1.0, 3.0, 2.0])
weights = torch.tensor([0.5, 0.25, 0.25])  # nonnegative, sum 1
average = torch.dot(weights, grades)
print("weighted average:", average.item())
assert weights.sum() == 1 and grades.min() < average < grades.max()

# %% [markdown]
# ### Angles
#
# The *length* of a vector is $\|\mathbf{x}\|=\sqrt{\mathbf{x}^\top\mathbf{x}}$, by the theorem of Pythagoras, and the angle $\theta$ between two vectors that are not zero satisfies
#
# $$\cos\theta = \frac{\mathbf{x}^\top\mathbf{y}}{\|\mathbf{x}\|\,\|\mathbf{y}\|}. \tag{2.3.8}$$
#
# To see why, apply the law of cosines to the triangle with the sides $\mathbf{x}$, $\mathbf{y}$ and $\mathbf{x}-\mathbf{y}$: $\|\mathbf{x}-\mathbf{y}\|^2=\|\mathbf{x}\|^2+\|\mathbf{y}\|^2-2\|\mathbf{x}\|\|\mathbf{y}\|\cos\theta$.
# Multiplied out, the left side is $\|\mathbf{x}\|^2+\|\mathbf{y}\|^2-2\,\mathbf{x}^\top\mathbf{y}$; compare.
# So $\mathbf{x}^\top\mathbf{y}$ is the length of $\mathbf{x}$ times the length of the shadow that $\mathbf{y}$ casts on the line through $\mathbf{x}$, negative if the shadow falls on the other side.

# %% tags=["hide-input"]
def draw(fig, angle):
    ax = fig.subplots()
    t = math.radians(angle)
    tip = (2 * math.cos(t), 2 * math.sin(t))
    ax.plot([0, tip[0]], [0, 0], color="C2", lw=7, solid_capstyle="butt")
    ax.plot([tip[0], tip[0]], [0, tip[1]], "--", color="#888888", lw=1)
    arrow(ax, (3, 0), "C0", "x", at=(0.1, -0.1))
    arrow(ax, tip, "C1", "y", at=(0.08, 0.1))
    ax.set(xlim=(-2.4, 3.6), ylim=(-0.5, 2.5), aspect="equal")
    ax.set_title(f"x · y = 3 · 2 · cos {angle:.0f}° = "
                 f"{6 * math.cos(t):.2f}")


d2l.sliders(draw, """A horizontal arrow x of length 3 and an arrow y of
    length 2 at an angle; the shadow of y on the line through x is marked.
    Shadow times length of x is the dot product, positive for acute angles,
    zero at 90 degrees, negative beyond.""", figsize=(5, 2.9),
    angle=[0, 10, 20, 30, 40, 50, 60, 75, 90, 105, 120, 150, 180])

# %% [markdown]
# **Figure 2.3.4.** Turn $\mathbf{y}$: the dot product is largest when both arrows point the same way, and 0 when they are perpendicular, or *orthogonal*.

# %% [markdown]
# The cosine is a measure of similarity that ignores length.
# Count four words in three texts: the first two are about the same subject, but one is ten times as long.
# Their distance is large and their cosine nearly 1.

# %%
texts = torch.tensor([[4.0, 2, 0, 1], [41, 19, 1, 9], [0, 1, 5, 4]])
lengths = torch.linalg.vector_norm(texts, dim=1, keepdim=True)  # (3, 1)
unit = texts / lengths  # (3, 4), every row has length 1
for i, j in [(0, 1), (0, 2)]:
    distance = torch.linalg.vector_norm(texts[i] - texts[j])
    print(f"texts {i} and {j}: distance {distance:5.2f}, "
          f"cosine {unit[i] @ unit[j]:.2f}")
assert unit[0] @ unit[1] > 0.99 and unit[0] @ unit[2] < 0.3
near, far = (torch.linalg.vector_norm(texts[0] - texts[j]) for j in (2, 1))
assert far > 5 * near  # the similar texts are the distant ones

# %% [markdown]
# The same number compares words in Chapter 15, and dot products weight the attention of Chapter 11.

# %% [markdown]
# ## Matrix-vector product
#
# Two customers buy apples and bread at the same prices, so we need two dot products.
# Write the baskets as the rows of a matrix.
# The *matrix-vector product* is the dot product of every row with the vector:
#
# $$\mathbf{A}\mathbf{x} = \begin{bmatrix}\mathbf{a}_1^\top\\ \vdots\\ \mathbf{a}_m^\top\end{bmatrix}\mathbf{x} = \begin{bmatrix}\mathbf{a}_1^\top\mathbf{x}\\ \vdots\\ \mathbf{a}_m^\top\mathbf{x}\end{bmatrix}\in\mathbb{R}^m. \tag{2.3.9}$$
#
# Here $\mathbf{A}\in\mathbb{R}^{m\times n}$ has the rows $\mathbf{a}_i^\top$, each of $n$ entries, and $\mathbf{x}\in\mathbb{R}^n$: the number of *columns* of $\mathbf{A}$ must be the length of $\mathbf{x}$.
# In code it is `torch.mv(A, x)` or `A @ x`.

# %%
# check 2.3-C3: dot products of rows; integers stay integers
A, x = torch.arange(6).reshape(2, 3), torch.arange(3)
print(torch.mv(A, x))
assert torch.mv(A, x).tolist() == [5, 14] == (A @ x).tolist()
assert (A @ x).dtype == torch.int64
assert all((A @ x)[i] == torch.dot(A[i], x) for i in range(2))

# %% [markdown]
# Addition promotes an integer tensor to float when it must; matrix products insist on equal types.

# %%
# check 2.3-C4: an integer matrix times a float vector is an error
try:
    A @ x.float()
    raise AssertionError("mixed types should raise")
except RuntimeError:
    print("RuntimeError:", A.dtype, "@", x.float().dtype)
assert (A + x.float()).dtype == torch.float32

# %% [markdown]
# There is a second way to read the product.
# Sort the same sums by columns instead of rows:
#
# $$\mathbf{A}\mathbf{x} = x_1\mathbf{A}_{:1}+x_2\mathbf{A}_{:2}+\dots+x_n\mathbf{A}_{:n}, \tag{2.3.10}$$
#
# where $\mathbf{A}_{:j}\in\mathbb{R}^m$ is column $j$.
# The vector $\mathbf{x}$ says how much of each column to take: a *linear combination* of columns.
# Whatever $\mathbf{x}$ is, the result can only be a combination of the columns.

# %%
combination = 0 * A[:, 0] + 1 * A[:, 1] + 2 * A[:, 2]  # x = (0, 1, 2)
assert torch.equal(combination, A @ x)
print(combination)

# %% [markdown]
# ### A matrix is a map
#
# $\mathbf{A}\in\mathbb{R}^{m\times n}$ turns each vector of $\mathbb{R}^n$ into one of $\mathbb{R}^m$; the $2\times3$ matrix above turned three numbers into two.
# The map is *linear*: $\mathbf{A}(\alpha\mathbf{x}+\beta\mathbf{y})=\alpha\,\mathbf{A}\mathbf{x}+\beta\,\mathbf{A}\mathbf{y}$ for all vectors and all numbers $\alpha,\beta$.
# Straight lines stay straight, and a grid of equal cells becomes a grid of equal cells, unless they are flattened.
# By (2.3.10) the columns tell everything: the vector $(1,0)^\top$ goes to the first column, $(0,1)^\top$ to the second, and all others follow.
#
# The rotation of the plane by the angle $\theta$, for example, sends $(1,0)^\top$ to $(\cos\theta,\sin\theta)^\top$ and $(0,1)^\top$ to $(-\sin\theta,\cos\theta)^\top$, so
#
# $$\mathbf{R}(\theta) = \begin{bmatrix}\cos\theta&-\sin\theta\\ \sin\theta&\cos\theta\end{bmatrix}\in\mathbb{R}^{2\times2}. \tag{2.3.11}$$

# %%
def rotation(degrees):
    """The matrix (2.3.11) that turns the plane counter-clockwise."""
    t = math.radians(degrees)
    return torch.tensor([[math.cos(t), -math.sin(t)],
                         [math.sin(t), math.cos(t)]], dtype=f64)


R = rotation(30)
print(R)
print((R @ torch.tensor([1.0, 0.0], dtype=f64)).tolist())

# %% [markdown]
# To move a whole cloud of points, we meet a convention that will stay with us.
# The points are examples, so they stand in the *rows* of $\mathbf{X}\in\mathbb{R}^{n\times2}$, whereas (2.3.9) wants a column.
# Transposing both gives $(\mathbf{R}\mathbf{x})^\top=\mathbf{x}^\top\mathbf{R}^\top$, hence all points at once are `X @ R.T`.
# `nn.Linear` computes its output this way.

# %%
maps = {
    "identity": torch.eye(2, dtype=f64),
    "rotation by 30°": rotation(30),
    "scaling (1.5, 0.5)": torch.tensor([[1.5, 0], [0, 0.5]], dtype=f64),
    "projection on a line": torch.full((2, 2), 0.5, dtype=f64),
}
s = torch.linspace(-1, 1, 9, dtype=f64)
X = torch.cartesian_prod(s, s)  # (81, 2), one point a row

# %% tags=["hide-input"]
F_shape = torch.tensor([[0.25, 0], [0.25, 0.75], [0.75, 0.75], [0.25, 0.75],
                        [0.25, 0.4], [0.6, 0.4]], dtype=f64)  # (6, 2)
_, axes = plt.subplots(1, 4, figsize=(8.4, 2.5), sharey=True)
for ax, (name, M) in zip(axes, maps.items()):
    points, letter = X @ M.T, F_shape @ M.T  # (81, 2), (6, 2)
    assert torch.allclose(points[-1], M @ X[-1])  # (1, 1): both columns
    ax.scatter(*points.T, s=5, color="#999999")
    ax.plot(*letter.T, color="black", lw=2)
    arrow(ax, M[:, 0].tolist(), "C0", "")
    arrow(ax, M[:, 1].tolist(), "C1", "")
    ax.set_title(name, fontsize=9)
    ax.set(aspect="equal", xlim=(-1.7, 1.7), ylim=(-1.7, 1.7),
           xticks=[-1, 0, 1], yticks=[-1, 0, 1])
d2l.describe(axes, """A square grid of points with the letter F in it, and
    its images: turned by 30 degrees, stretched horizontally and flattened
    vertically, and collapsed onto a diagonal line.""")

# %% [markdown]
# **Figure 2.3.5.** What four matrices do to a grid and to the letter F.
# The arrows are the columns of the matrix, blue the first and orange the second.
# The projection has two equal columns, so its arrows coincide; it flattens the plane to a line, and no map can bring the F back.

# %% [markdown]
# A rotation changes neither lengths nor angles.
# In formulas, $\mathbf{R}^\top\mathbf{R}=\mathbf{I}$, where the *identity matrix* $\mathbf{I}$ has ones on the diagonal and zeros elsewhere and leaves every vector alone.
# Such matrices are called *orthogonal*.
# Lengths are kept because $\|\mathbf{R}\mathbf{x}\|^2=\mathbf{x}^\top\mathbf{R}^\top\mathbf{R}\mathbf{x}=\mathbf{x}^\top\mathbf{x}$.
# The *determinant* says by which factor areas grow, with a minus sign if the map mirrors: it is 1 for a rotation, $1.5\cdot0.5=0.75$ for the scaling, 0 for the projection.

# %%
# check 2.3-C12: a rotation is orthogonal, has determinant 1, keeps lengths
eye = torch.eye(2, dtype=f64)
torch.testing.assert_close(R.T @ R, eye)
torch.testing.assert_close(torch.linalg.det(R).item(), 1.0)
torch.testing.assert_close(torch.linalg.vector_norm(X @ R.T, dim=1),
                           torch.linalg.vector_norm(X, dim=1))
dets = [torch.linalg.det(M).item() for M in maps.values()]
quarter = rotation(90) @ torch.tensor([1.0, 0.0], dtype=f64)
torch.testing.assert_close(quarter, eye[1])  # counter-clockwise
onto = maps["projection on a line"]
torch.testing.assert_close(onto @ onto, onto)  # twice is once
print("determinants:", [round(d, 6) + 0.0 for d in dets])
assert abs(dets[2] - 0.75) < 1e-12 and abs(dets[3]) < 1e-12

# %% [markdown]
# ## Matrix-matrix product
#
# Two customers and two shops: each basket has a price in each shop.
# With the baskets as rows of one matrix and the price lists as columns of the other, all four totals together are the *matrix product*
#
# $$\mathbf{C} = \mathbf{A}\mathbf{B},\qquad c_{ij} = \mathbf{a}_i^\top\mathbf{b}_j = \sum_{l=1}^k a_{il}b_{lj}. \tag{2.3.12}$$
#
# Here $\mathbf{A}\in\mathbb{R}^{n\times k}$ has the rows $\mathbf{a}_i^\top$, $\mathbf{B}\in\mathbb{R}^{k\times m}$ has the columns $\mathbf{b}_j$, and $\mathbf{C}\in\mathbb{R}^{n\times m}$ holds $n\cdot m$ dot products of length $k$.
# The inner sizes must agree and vanish, the outer sizes remain: $(n,k)\,(k,m)\to(n,m)$.
#
# The sum over $l$ can also be carried out last.
# For a fixed $l$, the products $a_{il}b_{lj}$ form a matrix by themselves, the *outer product* of column $l$ of $\mathbf{A}$ with row $l$ of $\mathbf{B}$, and
#
# $$\mathbf{A}\mathbf{B} = \sum_{l=1}^k\mathbf{A}_{:l}\,\mathbf{B}_{l:}, \tag{2.3.13}$$
#
# with $\mathbf{A}_{:l}\in\mathbb{R}^{n\times1}$, $\mathbf{B}_{l:}\in\mathbb{R}^{1\times m}$, and each term of the full shape $n\times m$.
#
# ![Two computations of one product. Above: row (3, 4) of A and column (2, 0) of B give the entry 6 of AB. Below: column (1, 3, 0) times row (1, 0, 2) plus column (2, 4, 1) times row (2, 1, 0), written out as two 3 by 3 layers that add up to the same AB.](img/matrix-product-two-views.svg)
#
# **Figure 2.3.6.** The same product, entry by entry as in (2.3.12), and layer by layer as in (2.3.13).

# %% [markdown]
# Two more views lie in between.
# Row $i$ of $\mathbf{C}$ is $\mathbf{a}_i^\top\mathbf{B}$, a combination of the rows of $\mathbf{B}$; column $j$ of $\mathbf{C}$ is $\mathbf{A}\mathbf{b}_j$, a combination of the columns of $\mathbf{A}$.
# So the product is $m$ matrix-vector products side by side.
# Here are all four as programs; they do the same multiplications in a different order.

# %%
def matmul_loops(A, B):
    """Entry by entry: (n, k), (k, m) -> (n, m), with three loops."""
    C = torch.zeros(len(A), B.shape[1], dtype=A.dtype)
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            for l in range(A.shape[1]):
                C[i, j] += A[i, l] * B[l, j]
    return C


def matmul_rows(A, B):
    """Row by row: each row of A combines the rows of B."""
    return torch.stack([(a[:, None] * B).sum(dim=0) for a in A])


# %%
def matmul_columns(A, B):
    """Column by column: a matrix-vector product for each column of B."""
    return torch.stack([torch.mv(A, b) for b in B.T], dim=1)


def matmul_outer(A, B):
    """Layer by layer: the sum of k outer products."""
    return sum(torch.outer(A[:, l], B[l]) for l in range(A.shape[1]))


four = (matmul_loops, matmul_rows, matmul_columns, matmul_outer)
P, Q = torch.tensor([[1, 2], [3, 4], [0, 1]]), torch.tensor([[1, 0, 2],
                                                             [2, 1, 0]])
print(matmul_outer(P, Q))  # the example of Figure 2.3.6
assert all(torch.equal(own(P, Q), P @ Q) for own in four)

# %%
# check 2.3-C6: the own products equal the built-in one
rng = torch.Generator().manual_seed(0)
for n, k, m in [(1, 1, 1), (4, 3, 5), (2, 7, 1), (6, 2, 6)]:
    left = torch.randn(n, k, generator=rng, dtype=f64)
    right = torch.randn(k, m, generator=rng, dtype=f64)
    for own in four:
        torch.testing.assert_close(own(left, right), left @ right)

# %% [markdown]
# The first defines the product, and the second says that an example, one row, passes through a layer without meeting the other rows.
# The outer products return as the gradient of a layer in [Section 5.3](../05-multilayer-perceptrons/03-backpropagation.ipynb), one for each example, and the columns explain what a layer can output at all.
#
# In practice one writes `A @ B`, which leaves all loops to compiled code.
# A star instead of the @ is the Hadamard product; if the shapes allow both, no error tells them apart.

# %%
# check 2.3-C5: matrix product of (5, 4) and (4, 3); what does not fit
A5 = torch.arange(20, dtype=torch.float32).reshape(5, 4)
B = torch.ones(4, 3)
print(A5 @ B)
expected = torch.tensor([6.0, 22, 38, 54, 70])[:, None].expand(5, 3)
assert torch.equal(A5 @ B, expected)
for wrong in (lambda: A5 * B, lambda: A5 @ A5):
    try:
        wrong()
        raise AssertionError("these shapes should not fit")
    except RuntimeError as error:
        print(error)

# %% [markdown]
# ### Order matters
#
# A product of matrices is one map after the other: $\mathbf{A}\mathbf{B}\mathbf{x}=\mathbf{A}(\mathbf{B}\mathbf{x})$ applies $\mathbf{B}$ first.
# To turn a picture and then squeeze it is not the same as to squeeze it and then turn it.
# So the product is *not commutative*, in contrast to the Hadamard product.

# %% tags=["hide-input"]
turn, squeeze = maps["rotation by 30°"], maps["scaling (1.5, 0.5)"]
orders = {"first turn, then scale: SR": squeeze @ turn,
          "first scale, then turn: RS": turn @ squeeze}
_, axes = plt.subplots(1, 2, figsize=(5.6, 2.6), sharey=True)
for ax, (name, M) in zip(axes, orders.items()):
    ax.scatter(*(X @ M.T).T, s=5, color="#999999")
    ax.plot(*(F_shape @ M.T).T, color="black", lw=2)
    ax.set_title(name, fontsize=9)
    ax.set(aspect="equal", xlim=(-2.3, 2.3), ylim=(-1.5, 1.5))
d2l.describe(axes, """The grid with the letter F, left first turned and
    then stretched, which shears it; right first stretched and then
    turned, which gives a tilted rectangle.""")

# %% [markdown]
# **Figure 2.3.7.** The same two maps in both orders.

# %%
# check 2.3-C7: products in both orders differ, their traces agree
sheared, tilted = (M[:, 0] @ M[:, 1] for M in orders.values())
assert abs(sheared) > 0.5 and abs(tilted) < 1e-12  # right angle kept
P = torch.tensor([[1, 2], [3, 4]])
Q = torch.tensor([[0, 1], [1, 0]])
print("PQ =", (P @ Q).tolist(), "  QP =", (Q @ P).tolist())
assert (P @ Q).tolist() == [[2, 1], [4, 3]]  # Q swaps columns ...
assert (Q @ P).tolist() == [[3, 4], [1, 2]]  # ... or rows
assert not torch.equal(P @ Q, Q @ P) and torch.equal(P * Q, Q * P)
assert (P @ Q).trace() == 5 == (Q @ P).trace()

# %% [markdown]
# One number survives the exchange: the *trace*, the sum of the diagonal entries, since $\sum_i\sum_j p_{ij}q_{ji}$ does not change when $i$ and $j$ swap their names.
# Transposing turns the order round: $(\mathbf{A}\mathbf{B})^\top=\mathbf{B}^\top\mathbf{A}^\top$.
#
# ### Cost, and where to put the parentheses
#
# By (2.3.12) the product of $(n,k)$ with $(k,m)$ takes $nkm$ multiplications and about as many additions, $2nkm$ operations in all ([Strassen, 1969](https://doi.org/10.1007/BF02165411), showed that large ones need fewer).
# For three matrices it does not matter for the *result*, up to rounding, which product comes first, since $(\mathbf{A}\mathbf{B})\mathbf{C}=\mathbf{A}(\mathbf{B}\mathbf{C})$: the product is *associative*.
# For the cost it may matter a lot.
# We compare the formula with a counter that watches what PyTorch executes.
# The tensors are on the device `meta`, where they have a shape and no entries, so even the expensive order takes no time.

# %%
# check 2.3-C13: multiplications for both orders of a triple product
def multiplications(compute):
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() // 2


n, k, m, p = 2**10, 2**16, 2**5, 2**14
A, B, C = (torch.empty(size, device="meta")
           for size in ((n, k), (k, m), (m, p)))
ab_first = multiplications(lambda: (A @ B) @ C)
bc_first = multiplications(lambda: A @ (B @ C))
print(f"(AB)C: {ab_first:,}   A(BC): {bc_first:,}   "
      f"ratio {bc_first / ab_first:.1f}")
assert ab_first == n * k * m + n * m * p == 2_684_354_560
assert bc_first == k * m * p + n * k * p == 1_133_871_366_144
best = multiplications(lambda: torch.linalg.multi_dot((A, B, C)))
assert best == ab_first  # multi_dot finds the cheapest order by itself

# %% [markdown]
# The thin matrix in the middle is the reason: $\mathbf{A}\mathbf{B}$ has 32 columns, while $\mathbf{B}\mathbf{C}$ has a billion entries.
# At smaller sizes of the same kind both orders agree:

# %%
A, B, C = (torch.randn(size, generator=rng, dtype=f64)
           for size in [(16, 1024), (1024, 2), (2, 256)])
torch.testing.assert_close((A @ B) @ C, A @ (B @ C))
torch.testing.assert_close(torch.linalg.multi_dot((A, B, C)), A @ B @ C)

# %% [markdown]
# ### Rank
#
# The rows of `A5` hold little that is new: row $i$ is $(0,1,2,3)$ plus $4i$ in each entry.
# In the language of (2.3.13) the matrix is a sum of two outer products only.
# The smallest number of outer products that add up to a matrix is its *rank*.
# Columns are *linearly independent* if none is a combination of the others; the rank is also the largest number of such columns that can be picked, and the same for rows.
# Any two columns of `A5` are, and no three.

# %%
# check 2.3-C14: a sum of two outer products has rank 2
i, j = torch.arange(5.0), torch.arange(4.0)
layers = torch.outer(4 * i, torch.ones(4)) + torch.outer(torch.ones(5), j)
assert torch.equal(layers, A5)
assert torch.linalg.matrix_rank(A5) == 2
for k in (2, 3):  # the rank of any k columns
    ranks = {torch.linalg.matrix_rank(A5[:, list(some)]).item()
             for some in itertools.combinations(range(4), k)}
    assert ranks == {2}
print("rank:", torch.linalg.matrix_rank(A5).item())

# %% [markdown]
# A rank below the number of columns means that different vectors are mapped to the same place, as in the projection of Figure 2.3.5, which has rank 1.
#
# ### One notation for all products
#
# *Einstein's* notation names the indices of the factors and of the result; an index that is missing in the result is summed over.
# `torch.einsum` takes it as a string.
# It covers every product of this section.

# %%
u, v = (torch.randn(4, generator=rng, dtype=f64) for _ in range(2))
M = torch.randn(5, 4, generator=rng, dtype=f64)
N = torch.randn(4, 3, generator=rng, dtype=f64)
for name, formula, factors, expected in [
        ("dot product", "i,i->", (u, v), u @ v),
        ("outer product", "i,j->ij", (u, v), torch.outer(u, v)),
        ("Hadamard product", "ij,ij->ij", (M, M), M * M),
        ("matrix-vector", "ij,j->i", (M, v), M @ v),
        ("matrix-matrix", "il,lj->ij", (M, N), M @ N),
        ("sums of columns", "ij->j", (M,), M.sum(dim=0)),
        ("transpose", "ij->ji", (M,), M.T),
        ("trace", "ii->", (M[:4],), M[:4].trace()),
        ("x' A y", "i,ij,j->", (u, M[:4], v), u @ M[:4] @ v)]:
    torch.testing.assert_close(torch.einsum(formula, *factors), expected)
    print(f"{name:18s}{formula}")

# %% [markdown]
# ## Norms
#
# How long is a vector, and how far apart are two?
# By air, from $(0,0)$ to $(3,4)$ it is 5; on a grid of streets it is 7; a king on a chessboard needs 4 moves.
# Each of the three is a *norm*: a function $\|\cdot\|$ from vectors to numbers with three properties,
#
# $$\|\alpha\mathbf{x}\| = |\alpha|\,\|\mathbf{x}\|,\qquad \|\mathbf{x}+\mathbf{y}\|\le\|\mathbf{x}\|+\|\mathbf{y}\|,\qquad \|\mathbf{x}\|>0\ \text{for}\ \mathbf{x}\ne\mathbf{0}, \tag{2.3.14}$$
#
# for all $\mathbf{x},\mathbf{y}\in\mathbb{R}^n$ and all numbers $\alpha$.
# The first says that a norm scales with the vector, the second, the *triangle inequality*, that a detour is never shorter, the third that only the zero vector has size 0.
# The three examples are
#
# $$\|\mathbf{x}\|_2 = \sqrt{\sum_{i=1}^n x_i^2},\qquad \|\mathbf{x}\|_1 = \sum_{i=1}^n|x_i|,\qquad \|\mathbf{x}\|_\infty = \max_i|x_i|, \tag{2.3.15}$$
#
# and the first two belong to a family with a number $p\ge1$, of which the third is the limit for $p\to\infty$:
#
# $$\|\mathbf{x}\|_p = \left(\sum_{i=1}^n|x_i|^p\right)^{1/p}. \tag{2.3.16}$$
#
# A norm without an index is the $\ell_2$ norm, and $\|\mathbf{x}\|^2=\mathbf{x}^\top\mathbf{x}$ needs no root.

# %%
# check 2.3-C10: three norms of one vector
u = torch.tensor([3.0, -4.0])
norms = {p: torch.linalg.vector_norm(u, p).item() for p in (2, 1, math.inf)}
print(norms)
assert norms == {2: 5, 1: 7, math.inf: 4}
assert u.square().sum().sqrt() == 5 and u.abs().sum() == 7
assert u.abs().max() == 4

# %% tags=["hide-input"]
t = torch.linspace(0, 2 * math.pi, 361, dtype=f64)
circle = torch.stack((t.cos(), t.sin()), dim=1)  # (361, 2)
_, ax = plt.subplots(figsize=(4.2, 3.4))
names = {1: r"$\ell_1$", 2: r"$\ell_2$", 4: r"$\ell_4$",
         math.inf: r"$\ell_\infty$"}
for (p, name), ls in zip(names.items(), ("-", "--", ":", "-.")):
    size = torch.linalg.vector_norm(circle, p, dim=1, keepdim=True)
    assert abs(size[45] - 2 ** (1 / p - 1 / 2)) < 1e-9  # on the diagonal
    ax.plot(*(circle / size).T, ls, label=name)
ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="norm")
d2l.describe(ax, """The vectors of norm 1 in the plane: a square standing
    on its corner for l1, a circle for l2, a square with rounded corners
    for l4, an upright square for l-infinity.""")

# %% [markdown]
# **Figure 2.3.8.** All vectors of norm 1.
# The larger $p$, the more the largest entry counts alone.
# All four agree on the axes, where only one entry is not zero, and differ most on the diagonals.

# %% [markdown]
# Norms appear in objectives, the quantities that training makes small.
# There they are mostly distances: $\|\hat{\mathbf{y}}-\mathbf{y}\|$ between predictions and labels, or $\|\mathbf{u}-\mathbf{v}\|$ between two representations that should be alike.
# The $\ell_2$ norm dislikes large entries, since it squares them; the $\ell_1$ norm charges every unit the same.
# The corners of its ball lie on the axes, and a penalty on it tends to produce exact zeros ([Section 3.7](../03-linear-regression/07-weight-decay.ipynb)).
#
# ### Matrices
#
# The plainest norm of a matrix treats it as one long vector.
# This is the *Frobenius norm*
#
# $$\|\mathbf{X}\|_F = \sqrt{\sum_{i=1}^m\sum_{j=1}^n x_{ij}^2}, \tag{2.3.17}$$
#
# a number for each $\mathbf{X}\in\mathbb{R}^{m\times n}$.
# The other common one looks at the map.
# The *spectral norm* is the largest factor by which $\mathbf{X}$ can stretch a vector:
#
# $$\|\mathbf{X}\|_2 = \max_{\|\mathbf{v}\|=1}\|\mathbf{X}\mathbf{v}\|, \tag{2.3.18}$$
#
# where $\mathbf{v}\in\mathbb{R}^n$ runs over all vectors of length 1.
# For $\mathbf{X}=\begin{bmatrix}1&2\\3&4\end{bmatrix}$ the first is $\sqrt{1+4+9+16}=\sqrt{30}\approx5.4772$.
# The second we can see: $\mathbf{X}$ maps the unit circle to an ellipse, and the norm is the longer half-axis.

# %% tags=["hide-input"]
X = torch.tensor([[1.0, 2], [3, 4]], dtype=f64)
ellipse = circle @ X.T  # (361, 2)
stretch = torch.linalg.vector_norm(ellipse, dim=1)  # (361,)
far = stretch[:180].argmax()  # -v is stretched as far as v
_, ax = plt.subplots(figsize=(4.0, 3.6))
ax.plot(*circle.T, label="unit circle")
ax.plot(*ellipse.T, "--", label="its image")
arrow(ax, circle[far].tolist(), "C0", "v", at=(0.5, -0.15))
arrow(ax, ellipse[far].tolist(), "C1", "Xv", at=(0.15, -0.1))
ax.set(aspect="equal", xlim=(-4.5, 4.5), ylim=(-5.8, 5.8))
ax.legend(loc="upper left")
d2l.describe(ax, """The unit circle and its image under X, a long and very
    thin ellipse; the unit vector v is mapped to the tip of the ellipse,
    more than five times as far from the origin.""")
print(f"longest arrow {stretch.max():.3f}")

# %% [markdown]
# **Figure 2.3.9.** The spectral norm is the longest stretch.
# This ellipse is so thin that its shorter half-axis adds nearly nothing to the Frobenius norm.

# %%
# check 2.3-C11: Frobenius and spectral norm
def fro(M):
    return torch.linalg.matrix_norm(M, "fro").item()


def spectral(M):
    return torch.linalg.matrix_norm(M, 2).item()


ones = torch.ones(4, 9, dtype=f64)
assert abs(fro(ones) - 6) < 1e-12 and abs(spectral(ones) - 6) < 1e-12
print(f"Frobenius {fro(X):.4f}, spectral {spectral(X):.4f}")
assert abs(fro(X) - 5.4772) < 5e-5 and abs(fro(X)**2 - 30) < 1e-12
assert abs(spectral(X) - 5.4650) < 5e-5
assert stretch.max() <= spectral(X) < 1.001 * stretch.max()
assert stretch[far] > 0.999 * stretch.max()  # the arrow of the figure

# %% [markdown]
# The half-axes $s_1\ge s_2\ge\dots$ of the ellipse are the *singular values* of the matrix.
# The spectral norm is $s_1$, the Frobenius norm is $\sqrt{s_1^2+s_2^2+\cdots}$.
# So $\|\mathbf{X}\|_2\le\|\mathbf{X}\|_F$, with equality exactly when at most one half-axis is not 0, that is, for rank at most 1, like the matrix of ones.
# In the other direction $\|\mathbf{X}\|_F\le\sqrt r\,\|\mathbf{X}\|_2$ for rank $r$.
#
# A trap in names: `torch.linalg.norm(X)` of a matrix is Frobenius, but `torch.linalg.norm(X, 2)` is spectral, while for a vector both are $\ell_2$.
# `torch.norm`, and with it the method `X.norm()`, is [deprecated](https://docs.pytorch.org/docs/stable/generated/torch.norm.html); its default for a matrix is Frobenius too.
# The functions `vector_norm` and `matrix_norm` say which is meant, and this book uses them.

# %%
s = torch.linalg.svdvals(X)  # (2,), largest first
torch.testing.assert_close(s[0].item(), spectral(X))
torch.testing.assert_close(torch.linalg.vector_norm(s).item(), fro(X))
torch.testing.assert_close(torch.linalg.norm(X).item(), fro(X))
torch.testing.assert_close(torch.linalg.norm(X, 2).item(), spectral(X))
torch.testing.assert_close(torch.linalg.vector_norm(X, 2).item(), fro(X))

# %% [markdown]
# ## Summary
#
# - A reduction removes the axis it names; `keepdim=True` keeps it for broadcasting, and without it a square matrix is divided by the wrong sums with no error.
# - The dot product measures how far two vectors agree in direction, and divided by both lengths it is the cosine of their angle.
# - $\mathbf{A}\mathbf{x}$ is a dot product with each row and also a combination of the columns; the columns are where the unit vectors go.
# - $\mathbf{A}\mathbf{B}$ can be computed by entries, rows, columns or outer products; it is associative but not commutative, and the order of evaluation can change the cost by orders of magnitude.
# - Data stand in rows, so a layer computes $\mathbf{X}\mathbf{W}^\top$.
# - $\ell_1$, $\ell_2$ and $\ell_\infty$ measure vectors; Frobenius measures the entries of a matrix, the spectral norm what it does to vectors.

# %% [markdown]
# ## Exercises
#
# ### Exercise 2.3-1
#
# Prove for matrices of equal shape that $(\mathbf{A}^\top)^\top=\mathbf{A}$ and $\mathbf{A}^\top+\mathbf{B}^\top=(\mathbf{A}+\mathbf{B})^\top$, and for a square matrix that $\mathbf{A}+\mathbf{A}^\top$ is symmetric.
# Test all three on random matrices.

# %% [markdown]
# #### Solution 2.3-1

# %% [markdown]
# Compare the entries in row $i$ and column $j$, using (2.3.4).
# First, $[(\mathbf{A}^\top)^\top]_{ij}=[\mathbf{A}^\top]_{ji}=a_{ij}$.
# Second, $[\mathbf{A}^\top+\mathbf{B}^\top]_{ij}=a_{ji}+b_{ji}=[\mathbf{A}+\mathbf{B}]_{ji}=[(\mathbf{A}+\mathbf{B})^\top]_{ij}$.
# Third, by the first two, $(\mathbf{A}+\mathbf{A}^\top)^\top=\mathbf{A}^\top+(\mathbf{A}^\top)^\top=\mathbf{A}^\top+\mathbf{A}$, which is the matrix itself.

# %%
A, B = torch.randn(2, 4, 6, generator=rng)  # two (4, 6) matrices
S = torch.randn(5, 5, generator=rng)
assert torch.equal(A.T.T, A)
assert torch.equal(A.T + B.T, (A + B).T)
assert torch.equal(S + S.T, (S + S.T).T)

# %% [markdown]
# ### Exercise 2.3-2
#
# `X` has shape (2, 3, 4).
# What is `len(X)`, and to which axis does `len` always refer?
# Which shapes have the sums along axis 0, 1 and 2?

# %% [markdown]
# #### Solution 2.3-2

# %% [markdown]
# `len` is the length of axis 0, here 2: the number of examples in a batch.
# A sum removes its axis: (3, 4), (2, 4), (2, 3).

# %%
X = torch.arange(24.0).reshape(2, 3, 4)
shapes = [tuple(X.sum(dim=axis).shape) for axis in range(3)]
print(len(X), shapes)
assert len(X) == X.shape[0] == 2
assert shapes == [(3, 4), (2, 4), (2, 3)]

# %% [markdown]
# ### Exercise 2.3-3
#
# What does `torch.linalg.norm` compute for a tensor with three axes, such as `torch.arange(24.0).reshape(2, 3, 4)`?
# Predict the number by the formula for a sum of squares, $\sum_{i=1}^ni^2=\frac{n(n+1)(2n+1)}6$.

# %% [markdown]
# #### Solution 2.3-3

# %% [markdown]
# It flattens the tensor and takes the $\ell_2$ norm.
# The squares from 0 to 23 add up to $\frac{23\cdot24\cdot47}6=4324$, so the norm is $\sqrt{4324}\approx65.757$.

# %%
norm = torch.linalg.norm(X)
print(f"{norm.item():.3f}")
assert sum(i * i for i in range(24)) == 4324 == 23 * 24 * 47 // 6
torch.testing.assert_close(norm, torch.tensor(4324.0).sqrt())
torch.testing.assert_close(norm, torch.linalg.vector_norm(X))

# %% [markdown]
# ### Exercise 2.3-4
#
# Stack three matrices of shape (100, 200) to one tensor, once along a new first axis and once along a new last axis.
# How do you get the second matrix back in each case, and does that copy memory?

# %% [markdown]
# #### Solution 2.3-4

# %% [markdown]
# `torch.stack(list)` gives (3, 100, 200), and index 1 on axis 0 is the second matrix.
# With `dim=2` the shape is (100, 200, 3), and the index must go to the last axis.
# Both indices give views of the stack, without a copy; the stack itself was a copy of the three.

# %%
three = [torch.randn(100, 200, generator=rng) for _ in range(3)]
first, last = torch.stack(three), torch.stack(three, dim=2)
assert first.shape == (3, 100, 200) and last.shape == (100, 200, 3)
assert torch.equal(first[1], three[1])
assert torch.equal(last[..., 1], three[1])
for stack, matrix in ((first, first[1]), (last, last[..., 1])):
    storage = stack.untyped_storage().data_ptr()
    assert matrix.untyped_storage().data_ptr() == storage
    assert three[1].untyped_storage().data_ptr() != storage

# %% [markdown]
# ### Exercise 2.3-5
#
# Prove $\|\mathbf{x}\|_\infty\le\|\mathbf{x}\|_2\le\|\mathbf{x}\|_1\le\sqrt n\,\|\mathbf{x}\|_2$ for $\mathbf{x}\in\mathbb{R}^n$.
# Which vectors make each of them an equality?
# Test it on 1000 random vectors.

# %% [markdown]
# #### Solution 2.3-5

# %% [markdown]
# *First*: the largest $x_i^2$ is one of the terms of $\sum_ix_i^2$, and the others are not negative.
# Equality holds if at most one entry is not 0.
#
# *Second*: $\|\mathbf{x}\|_1^2=\sum_i|x_i|\cdot\sum_j|x_j|=\sum_ix_i^2+\sum_{i\ne j}|x_i||x_j|\ge\|\mathbf{x}\|_2^2$, with equality in the same case.
#
# *Third*: by (2.3.8) a dot product is at most the product of the lengths, because $|\cos\theta|\le1$ (the *Cauchy-Schwarz inequality*, which holds for every $n$).
# Take the vector of the $|x_i|$ and the vector of ones, whose length is $\sqrt n$: $\|\mathbf{x}\|_1=\sum_i|x_i|\cdot1\le\|\mathbf{x}\|_2\sqrt n$.
# Equality holds if all $|x_i|$ are equal.

# %%
V = torch.randn(1000, 20, generator=rng, dtype=f64)
V[0] = 0
V[0, 3] = -2.0  # a single entry
V[1] = 1.0  # all equal
n1, n2, n_inf = (torch.linalg.vector_norm(V, p, dim=1)
                 for p in (1, 2, math.inf))
slack = 1 + 1e-12  # room for rounding
assert (n_inf <= n2 * slack).all() and (n2 <= n1 * slack).all()
assert (n1 <= math.sqrt(20) * n2 * slack).all()
assert n_inf[0] == n2[0] == n1[0] == 2
torch.testing.assert_close(n1[1], math.sqrt(20) * n2[1])

# %% [markdown]
# ### Exercise 2.3-6
#
# `X` of shape (5, 8) and `Y` of shape (7, 8) hold one vector a row.
# Compute the cosine similarities of all 35 pairs in one expression without loops, and compare with `F.cosine_similarity`.

# %% [markdown]
# #### Solution 2.3-6

# %% [markdown]
# Divide every row by its length, then one matrix product takes all dot products: (5, 8) times (8, 7).
# `F.cosine_similarity` compares along an axis with broadcasting, so it needs shapes (5, 1, 8) and (1, 7, 8).

# %%
X = torch.randn(5, 8, generator=rng, dtype=f64)
Y = torch.randn(7, 8, generator=rng, dtype=f64)
X1, Y1 = (V / torch.linalg.vector_norm(V, dim=1, keepdim=True)
          for V in (X, Y))  # every row has length 1
cosines = X1 @ Y1.T  # (5, 7)
torch.testing.assert_close(
    cosines, F.cosine_similarity(X[:, None], Y[None], dim=2))
assert cosines.shape == (5, 7) and cosines.abs().max() < 1

# %% [markdown]
# ## Sources
#
# - G. Strang, *Introduction to Linear Algebra*, [math.mit.edu/~gs/linearalgebra](https://math.mit.edu/~gs/linearalgebra/): the views of the matrix product by rows, columns and layers.
# - L. N. Trefethen and D. Bau, *Numerical Linear Algebra*, 1997, [doi:10.1137/1.9780898719574](https://doi.org/10.1137/1.9780898719574): norms, the image of the unit ball, singular values.
# - K. B. Petersen and M. S. Pedersen, *The Matrix Cookbook*, 2012, [math.uwaterloo.ca/~hwolkowi/matrixcookbook.pdf](https://www.math.uwaterloo.ca/~hwolkowi/matrixcookbook.pdf): a collection of identities.
# - PyTorch, [torch.linalg](https://docs.pytorch.org/docs/stable/linalg.html) and [torch.einsum](https://docs.pytorch.org/docs/stable/generated/torch.einsum.html).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
