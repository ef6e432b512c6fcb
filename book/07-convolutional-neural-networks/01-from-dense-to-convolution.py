# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         searches: 30
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
# # 7.1 From fully connected layers to convolutions
#
# A fully connected layer for photographs would need more weights than a collection of photographs can usually determine.
# Which of them can we do without?
# In this section two plain demands on how a layer should treat an image remove almost all of them, and what is left is the convolutional layer.

# %% [markdown]
# **You will**
#
# - derive the convolutional layer from a fully connected one by two constraints, and count the weights at each step;
# - tell equivariance from invariance, and prove that weight sharing is the only way for a linear layer to be equivariant to shifts;
# - measure how many examples the constraint saves when it is right, and what it costs when it is wrong;
# - compute a convolution by flipping and sliding, and say how it differs from what frameworks compute under this name.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64  # lets us check identities to ten digits

# %% tags=["parameters"]
searches = 300  # noisy images in which a template is searched

# %% [markdown]
# ## The price of a dense layer
#
# The networks of [Chapter 5](../05-multilayer-perceptrons/00-overview.md) take a vector of features, and any feature may interact with any other.
# For a table with a few dozen columns that is a sensible default.
# Now let the input be a photograph of one megapixel.
# A single hidden layer of only 1000 units has $10^6\cdot10^3=10^9$ weights.
# They take four gigabytes, and few tasks have as many labelled photographs as would determine them.
#
# Yet cats can be told from dogs with much smaller networks.
# Images are not arbitrary tables.
# A pixel is related to its neighbours more than to a pixel at the other end, and an ear looks the same in every corner.
# A dense layer knows nothing of this ([Section 7.6](06-lenet.ipynb) measures it).
# We now build this knowledge into the layer.

# %% [markdown]
# ## Invariance
#
# A pig at the top of a picture is as much a pig as one at the bottom.
# What an object looks like does not depend on where it is.
# Think of the picture puzzles that hide a small figure in a crowded scene.
# To solve one by machine, build a detector that returns how much a small patch resembles the figure, sweep it over the whole picture, and report the place with the largest number.
#
# Here the figure is a badge of $7\times7$ black and white squares.
# It is hidden in noise or, harder, in a crowd of random black and white squares with noise on top.
# `sweep` applies the same weights to every patch; `find_template` returns the top left corner of the best patch.

# %%
def sweep(X, T):
    """Weighted sum of every patch of X (h, w) with the weights T (k, k)."""
    k = len(T)
    patches = X.unfold(0, k, 1).unfold(1, k, 1)  # (h-k+1, w-k+1, k, k)
    return (patches * T).sum(dim=(-2, -1))  # (h-k+1, w-k+1)


def find_template(X, T):
    """Row and column of the patch of X that fits T best."""
    score = sweep(X, T)
    return divmod(int(score.argmax()), score.shape[1])


def hide_template(seed, crowd=False, n=64, k=7):
    """A noisy (n, n) image with a (k, k) badge, the badge, its corner."""
    rng = torch.Generator().manual_seed(seed)
    T = 2.0 * torch.randint(0, 2, (k, k), generator=rng) - 1  # entries ±1
    row, col = torch.randint(0, n - k + 1, (2,), generator=rng).tolist()
    X = torch.zeros(n, n)
    if crowd:
        X = 2.0 * torch.randint(0, 2, (n, n), generator=rng) - 1
    X[row:row + k, col:col + k] = T
    return X + 0.5 * torch.randn(n, n, generator=rng), T, (row, col)

# %%
X, T, place = hide_template(seed=5, crowd=True)
score = sweep(X, T)  # (58, 58)
print("hidden at", place, " found at", find_template(X, T))
fig, axes = plt.subplots(1, 3, figsize=(7, 2.7), width_ratios=[7, 2, 7])
axes[0].imshow(X, cmap="gray", vmin=-2, vmax=2)
axes[1].imshow(T, cmap="gray", vmin=-2, vmax=2)
axes[2].imshow(score, cmap="PuOr", vmin=-50, vmax=50)
axes[2].plot(place[1], place[0], "o", ms=14, mfc="none", color="C0")
for ax, title in zip(axes, ["image", "template", "response"]):
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
d2l.describe(axes, """Left an image of random dark and light squares in
    which nothing stands out, in the middle a small pattern of such
    squares, right the response at each position, rather pale everywhere
    but for one dark point, which is circled.""")

# %% [markdown]
# **Figure 7.1.1.** A badge that disappears in the crowd (left) gives one sharp peak in the response of the swept detector (right; purple is high, and the circle marks the true corner).
# The same 49 weights were used at each of the $58^2$ positions.

# %% [markdown]
# At the right place the products of pixel and weight are 1 on average, so their sum is about 49.
# Elsewhere they have random signs and mostly cancel.
# One picture could be luck, so we repeat the search with fresh badges, places and noise.

# %%
# check 7.1-C8: the template is found at the right place, each time
for crowd in (False, True):
    right = 0
    for seed in range(searches):
        X, T, place = hide_template(seed, crowd)
        right += find_template(X, T) == place
    print("crowd:" if crowd else "noise:", f"found {right} of {searches}")
    assert right == searches
images, badges, places = zip(*(hide_template(seed) for seed in (0, 1)))
assert not torch.equal(*badges) and places[0] != places[1]  # fresh ones
assert abs(images[0].std() - 0.5) < 0.1  # noise and one small badge
assert hide_template(0, crowd=True)[0].std() > 1  # and the crowd

# %% [markdown]
# The sweep suggests three principles for networks that see.
#
# 1. *Translation.* In the early layers, the network responds alike to the same patch, wherever the patch is.
# 2. *Locality.* In the early layers, it looks at small neighbourhoods, without regard to what is far away.
# 3. *Depth.* Later layers combine what neighbouring units found, so they see wider parts of the image and more abstract structure: edges and textures first, then eyes and noses, then faces.
#
# The first principle needs a precise form, because "translation invariance" is used for two different properties.
# Let $T$ be a shift of the image by some rows and columns, and $f$ the map from an image to what the network computes from it.
# The map is *equivariant* to shifts if shifting the input shifts the output by as much,
#
# $$f(T\mathbf{X}) = T f(\mathbf{X}), \tag{7.1.1}$$
#
# and *invariant* if shifting the input does not change the output at all,
#
# $$f(T\mathbf{X}) = f(\mathbf{X}), \tag{7.1.2}$$
#
# where $\mathbf{X}\in\mathbb{R}^{n\times n}$ is the image; in (7.1.1) the output $f(\mathbf{X})$ is again an array with rows and columns, in (7.1.2) it may be anything, for example a vector of class scores.
# The detector of Figure 7.1.1 is equivariant: if the badge moves, the peak follows, and the response tells *where* the badge is.
# A classifier wants invariance: a pig anywhere should give the answer "pig".
# The usual way there is equivariant layers first, then an operation that forgets the position, such as the largest or the mean response.
#
# Shifting pushes some pixels over the edge.
# To have a clean $T$ we let them come in again on the opposite side; such a shift is called *cyclic* or circular.

# %%
def shift(X, dy, dx):
    """Move X down by dy rows and right by dx columns, cyclically."""
    return torch.roll(X, (dy, dx), dims=(-2, -1))


def respond(X, T):
    """`sweep` with patches that wrap around; T has odd side."""
    r = len(T) // 2
    padded = F.pad(X[None], (r, r, r, r), mode="circular")[0]
    return sweep(padded, T)  # same shape as X, patches centred

# %% tags=["hide-input"]
X, T, _ = hide_template(seed=8)  # without a crowd, to see the badge


def draw(fig, right, down):
    moved = shift(X, int(down), int(right))  # (64, 64)
    score = respond(moved, T)  # (64, 64)
    row, col = divmod(int(score.argmax()), 64)
    axes = fig.subplots(1, 2)
    axes[0].imshow(moved, cmap="gray", vmin=-2, vmax=2)
    axes[0].set_title(f"mean {moved.mean():+.3f}")
    axes[1].imshow(score, cmap="PuOr", vmin=-50, vmax=50)
    axes[1].plot(col, row, "o", ms=14, mfc="none", color="C0")
    axes[1].set_title(f"peak {score.max():.1f} at ({row}, {col})")
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)


d2l.sliders(draw, """Left a noisy image shifted cyclically, right the
    response of a swept template with a circle around its peak, and the
    value and position of the peak as title.""", figsize=(5.2, 2.8),
    right=[0, 8, 16, 24, 32, 40, 48, 56], down=[0, 20, 40])

# %% [markdown]
# **Figure 7.1.2.** Move the image: the response moves along, its peak wraps around with the badge, and the *value* of the peak never changes.
# The response is equivariant; its maximum, and the mean of the image, are invariant.

# %%
# check: response and peak move along, also over the edge
moved, response = shift(X, 41, 29), respond(X, T)
assert moved[41, 29] == X[0, 0]  # down by 41, right by 29
torch.testing.assert_close(respond(moved, T), shift(response, 41, 29))
torch.testing.assert_close(respond(moved, T).max(), response.max())
torch.testing.assert_close(moved.mean(), X.mean())
assert abs(response.max() - 49) < 12 < response.std() * 6  # a clear peak

# %% [markdown]
# ## Constraining the fully connected layer
#
# Now we start from the most general layer and see what the demands leave of it.
# To speak of neighbours, keep the grid: the input is a matrix $\mathbf{X}\in\mathbb{R}^{n\times n}$, and the hidden representation $\mathbf{H}$ is a matrix of the same shape, one hidden unit for each pixel.
# Input and output have two indices each, so the weights have four:
#
# $$[\mathbf{H}]_{i,j} = [\mathbf{U}]_{i,j}+\sum_{k,l}[\mathsf{W}]_{i,j,k,l}[\mathbf{X}]_{k,l} = [\mathbf{U}]_{i,j}+\sum_{a,b}[\mathsf{V}]_{i,j,a,b}[\mathbf{X}]_{i+a,j+b}. \tag{7.1.3}$$
#
# Here $\mathbf{U}\in\mathbb{R}^{n\times n}$ holds the biases, and $\mathsf{W}\in\mathbb{R}^{n\times n\times n\times n}$ is a tensor with four axes that says how pixel $(k,l)$ influences hidden unit $(i,j)$.
# The second form renames the weights by where the pixel lies *relative* to the unit: with $k=i+a$ and $l=j+b$,
#
# $$[\mathsf{V}]_{i,j,a,b} \stackrel{\mathrm{def}}{=} [\mathsf{W}]_{i,j,i+a,j+b}. \tag{7.1.4}$$
#
# The offsets $a$ and $b$ may be negative; they run over all values for which $(i+a,j+b)$ is a pixel, so they lie between $-(n-1)$ and $n-1$.
# Nothing has changed yet, since every pair (unit, pixel) still has its own weight.
# For $n=1000$ these are $10^{12}$.
#
# In code an index cannot be negative, so `V` stores the offset $(a,b)$ at position $(a+n-1,b+n-1)$, and zeros where the offset leads out of the image.

# %%
def dense_image_layer(X, W, U):
    """First form of (7.1.3): X, U (n, n), W (n, n, n, n) -> (n, n)."""
    return U + torch.einsum("ijkl,kl->ij", W, X)


def reindex(W):
    """W (n, n, n, n) -> V (n, n, 2n-1, 2n-1) of (7.1.4)."""
    n = len(W)
    V = W.new_zeros(n, n, 2 * n - 1, 2 * n - 1)
    for i in range(n):
        for j in range(n):  # offset a = k - i is stored at k - i + n - 1
            V[i, j, n-1-i:2*n-1-i, n-1-j:2*n-1-j] = W[i, j]
    return V


def reindex_back(V):
    """The inverse of `reindex`."""
    n = len(V)
    rows = [torch.stack([V[i, j, n-1-i:2*n-1-i, n-1-j:2*n-1-j]
                         for j in range(n)]) for i in range(n)]
    return torch.stack(rows)  # (n, n, n, n)


def offset_layer(X, V, U):
    """Second form of (7.1.3); pixels outside the image count as 0."""
    n = len(X)
    padded = F.pad(X, (n - 1,) * 4)  # (3n-2, 3n-2)
    around = padded.unfold(0, 2*n-1, 1).unfold(1, 2*n-1, 1)  # (n, n, …, …)
    return U + torch.einsum("ijab,ijab->ij", V, around)

# %%
# check 7.1-C1: the two forms of (7.1.3) are one layer
rng = torch.Generator().manual_seed(1)
X5, U5 = torch.randn(2, 5, 5, generator=rng, dtype=f64)
W5 = torch.randn(5, 5, 5, 5, generator=rng, dtype=f64)
V5 = reindex(W5)  # (5, 5, 9, 9)
assert torch.equal(reindex_back(V5), W5)
assert (V5 != 0).sum() == 5**4  # as many weights as before
torch.testing.assert_close(offset_layer(X5, V5, U5),
                           dense_image_layer(X5, W5, U5))

# %% [markdown]
# ### Translation: share the weights
#
# The first principle asks that a shift of $\mathbf{X}$ only shifts $\mathbf{H}$.
# For that, neither the weights nor the bias may depend on the place $(i,j)$: $[\mathsf{V}]_{i,j,a,b}=[\mathbf{V}]_{a,b}$ and $[\mathbf{U}]_{i,j}=u$.
# The layer becomes
#
# $$[\mathbf{H}]_{i,j} = u+\sum_{a,b}[\mathbf{V}]_{a,b}[\mathbf{X}]_{i+a,j+b}, \tag{7.1.5}$$
#
# with one number $u$ for the whole layer and one matrix $\mathbf{V}\in\mathbb{R}^{(2n-1)\times(2n-1)}$, an entry for each offset.
# This is a *convolution*: the pixels around $(i,j)$ are weighted by $\mathbf{V}$ and added up, with the same weights everywhere.
# For $n=1000$ the weights have fallen from $10^{12}$ to $1999^2$, about four million.
# Time-delay networks (1987) were among the first to learn shared weights by backpropagation, along the time axis of speech.
#
# With cyclic shifts (7.1.5) is the only linear way to meet the demand.
# Take one dimension: $\mathbf{x}\in\mathbb{R}^n$ on a ring of $n$ places, a linear map $\mathbf{A}\in\mathbb{R}^{n\times n}$, and the matrix $\mathbf{S}$ that shifts by one place, $[\mathbf{S}\mathbf{x}]_i=x_{i-1}$.
# The map is equivariant if and only if
#
# $$\mathbf{A}\mathbf{S}=\mathbf{S}\mathbf{A}\quad\iff\quad [\mathbf{A}]_{i+1,j+1}=[\mathbf{A}]_{i,j}\ \text{for all}\ i,j, \tag{7.1.6}$$
#
# where indices that leave the ring come in again at its other end.
# *Proof.* The unit vector $\mathbf{e}_j$, which is 1 at place $j$ and 0 elsewhere, has $\mathbf{S}\mathbf{e}_j=\mathbf{e}_{j+1}$.
# So $\mathbf{A}\mathbf{S}\mathbf{e}_j$ is column $j+1$ of $\mathbf{A}$, and $\mathbf{S}\mathbf{A}\mathbf{e}_j$ is column $j$, moved down by one.
# The two are equal for every $j$ exactly when $[\mathbf{A}]_{i+1,j+1}=[\mathbf{A}]_{i,j}$.
# Then every row is the row above it, moved right by one: the first row fixes all, and $[\mathbf{A}]_{i,j}$ depends on $j-i$ only.
# With $v_a\stackrel{\mathrm{def}}{=}[\mathbf{A}]_{i,i+a}$ the map reads $[\mathbf{A}\mathbf{x}]_i=\sum_a v_ax_{i+a}$, which is (7.1.5) in one dimension, and the proof is complete.
#
# A matrix with this pattern is called *circulant*.
# All linear maps on the ring form a space of dimension $n^2$, and the equivariant ones a subspace of dimension $n$.
# On an $n\times n$ image that wraps around in both directions, a *torus*, the dimensions are $n^4$ and $n^2$.
# A bias must be the same everywhere, too, because it is the answer to a black image, and shifting a black image changes nothing.
# The equation $\mathbf{A}\mathbf{S}-\mathbf{S}\mathbf{A}=\mathbf{0}$ is linear in the entries of $\mathbf{A}$, so a computer can find all its solutions without knowing the proof.

# %%
def commuting_maps(shifts):
    """Basis (m, n, n) of all A with A S = S A for S (n, n) in shifts."""
    n = len(shifts[0])
    units = torch.eye(n * n, dtype=f64).reshape(-1, n, n)  # (n², n, n)
    conditions = torch.cat([(units @ S - S @ units).reshape(n * n, -1).mT
                            for S in shifts])  # (equations, n²)
    _, s, Vh = torch.linalg.svd(conditions)
    return Vh[(s > 1e-9).sum():].reshape(-1, n, n)  # the null space

# %%
# check 7.1-C3: only shared weights commute with all shifts
ring = torch.roll(torch.eye(6, dtype=f64), 1, dims=0)  # x_i <- x_{i-1}
maps = commuting_maps([ring])  # (6, 6, 6)
torch.testing.assert_close(maps, torch.roll(maps, (1, 1), dims=(1, 2)))
four, eye = (torch.roll(torch.eye(4, dtype=f64), 1, dims=0),
             torch.eye(4, dtype=f64))
torus = [torch.kron(four, eye), torch.kron(eye, four)]  # (16, 16) each
maps2 = commuting_maps(torus)  # (16, 16, 16)
print("ring of 6:", len(maps), "of", 6**2)
print("4 x 4 torus:", len(maps2), "of", 16**2)
assert len(maps) == 6 and len(maps2) == 16
v = torch.randn(6, generator=torch.Generator().manual_seed(2), dtype=f64)
A = torch.stack([torch.roll(v, i) for i in range(6)])  # circulant
torch.testing.assert_close(A @ ring, ring @ A)

# %% [markdown]
# Weight sharing is therefore not one trick among several: a linear layer that respects all cyclic shifts *is* a circular convolution.
# The argument extends to rotations and other symmetries, each of which has its own kind of convolution; the sources name two papers.
# A nonlinear function applied to each entry, such as ReLU, commutes with shifts as well.
# Hence a stack of such layers is equivariant, too.

# %% [markdown]
# ### Locality: cut the window
#
# The second principle says that what is far from $(i,j)$ should not matter for $[\mathbf{H}]_{i,j}$.
# So choose a radius $\Delta$ and set $[\mathbf{V}]_{a,b}=0$ wherever $|a|>\Delta$ or $|b|>\Delta$:
#
# $$[\mathbf{H}]_{i,j} = u+\sum_{a=-\Delta}^{\Delta}\ \sum_{b=-\Delta}^{\Delta}[\mathbf{V}]_{a,b}[\mathbf{X}]_{i+a,j+b}. \tag{7.1.7}$$
#
# This is a *convolutional layer*.
# The array $\mathbf{V}\in\mathbb{R}^{(2\Delta+1)\times(2\Delta+1)}$ is called its *kernel*, its *filter*, or just its weights, and it is learned like all weights.
# There are $(2\Delta+1)^2$ weights: 9 for $\Delta=1$, and 441 for $\Delta=10$, another factor of about ten thousand.
#
# ![Three drawings of five inputs below and five outputs above. Dense: all 25 arrows grey, 25 weights. Shared: the same 25 arrows, coloured and dashed by their offset, 9 weights. Local: only the arrows straight up and to the direct neighbours, 3 weights.](img/conv-dense-shared-local.svg)
#
# **Figure 7.1.3.** The two steps in one dimension.
# Sharing (middle) keeps every arrow but gives all arrows with the same offset the same weight, shown by colour and dashes.
# Locality (right) removes the long arrows.

# %% [markdown]
# In (7.1.7) a window at the edge of the image reaches outside.
# For now pixels outside count as 0, which is called *zero padding*; [Section 7.3](03-padding-and-stride.ipynb) looks at the alternatives.
#
# A convolution is still a linear map, so for an image flattened into a vector it is a matrix.
# `conv_matrix` writes this matrix down, entry by entry from (7.1.7).

# %%
def conv_matrix(K, n):
    """Matrix (n*n, n*n) of (7.1.7) for a kernel (2Δ+1, 2Δ+1), no bias."""
    r = len(K) // 2  # Δ
    A = K.new_zeros(n, n, n, n)  # W of (7.1.3)
    for i in range(n):
        for j in range(n):
            for k in range(max(0, i - r), min(n, i + r + 1)):
                for l in range(max(0, j - r), min(n, j + r + 1)):
                    A[i, j, k, l] = K[k - i + r, l - j + r]
    return A.reshape(n * n, n * n)

# %%
# check 7.1-C5: the matrix of a 3x3 kernel is sparse and repeats 9 values
rng = torch.Generator().manual_seed(3)
K = torch.randn(3, 3, generator=rng, dtype=f64)
A = conv_matrix(K, 8)  # (64, 64)
print((A != 0).sum().item(), "nonzero of", A.numel(), "entries,",
      A[A != 0].unique().numel(), "different")
assert (A != 0).sum() == 22**2 == 484 and A.numel() == 4096
assert A[A != 0].unique().numel() == 9
X8 = torch.randn(8, 8, generator=rng, dtype=f64)
built_in = F.conv2d(X8[None, None], K[None, None], padding=1)
torch.testing.assert_close((A @ X8.flatten()).reshape(1, 1, 8, 8), built_in)

# %% [markdown]
# In one dimension 8 places with 3 offsets have $3\cdot8-2=22$ pairs inside the image; rows and columns multiply.
# PyTorch's `F.conv2d` computes the same without ever forming the matrix.

# %% tags=["hide-input"]
rng = torch.Generator().manual_seed(4)
free = torch.rand(64, 64, generator=rng)
shared = conv_matrix(torch.rand(15, 15, generator=rng), 8)
local = conv_matrix(torch.linspace(0.1, 0.95, 9).reshape(3, 3), 8)
counts = [64 * 64, 15 * 15, 3 * 3]
fig, axes = plt.subplots(1, 3, figsize=(7, 2.9), sharey=True)
for ax, A, name, count in zip(axes, (free, shared, local),
                              ("dense", "shared", "shared and local"),
                              counts):
    ax.imshow(A.masked_fill(A == 0, torch.nan), cmap="turbo", vmin=0, vmax=1)
    ax.set_title(f"{name}: {count} weights")
    ax.set(xlabel="input pixel", xticks=[0, 32, 63], yticks=[0, 32, 63])
    ax.grid(False)
axes[0].set_ylabel("output unit")
d2l.describe(axes, """Three 64 by 64 matrices as colours. The dense one
    looks like confetti. The shared one repeats blocks with constant
    diagonals. The local one is white but for three bands of three thin
    diagonals each, every diagonal in one colour.""")

# %% [markdown]
# **Figure 7.1.4.** The weight matrix of a layer from $8\times8$ to $8\times8$ pixels; equal colours are equal weights, white is 0.
# Sharing makes the colours repeat along diagonals; locality empties all but nine of the diagonals.
# The diagonals have gaps where a window would reach over the edge.

# %% [markdown]
# Now count for real sizes.
# A module on PyTorch's device `meta` has shapes but no memory, so we can build even a layer of twelve gigabytes.

# %%
# check 7.1-C2: weights at each step
def step_counts(n, *radii):
    """Weights from (n, n) to (n, n): dense, shared, local for each radius."""
    return [n**4, (2 * n - 1) ** 2] + [(2 * r + 1) ** 2 for r in radii]


assert step_counts(1000, 10, 1) == [10**12, 3_996_001, 441, 9]
assert step_counts(8, 1) == [free.numel(), shared.unique().numel(),
                             local.unique().numel() - 1]  # without the 0
wide = nn.Linear(1024 * 1024 * 3, 1000, device="meta")
assert wide.weight.numel() == 3_145_728_000
conv = nn.Conv2d(3, 64, kernel_size=3)  # 3 colours to 64 channels
assert sum(p.numel() for p in conv.parameters()) == 1792

# %% tags=["hide-input"]
names = ["dense", "shared", "shared, Δ = 10", "shared, Δ = 1"]
counts = step_counts(1000, 10, 1)
fig, ax = plt.subplots(figsize=(6, 2.3))
ax.barh(names, counts, color=["C1", "C2", "C0", "C0"])
ax.set(xscale="log", xlim=(1, 1e17), xlabel="weights")
ax.invert_yaxis()
ax.grid(axis="y", visible=False)
for k, count in enumerate(counts):
    ax.text(1.5 * count, k, f"{count:,}", va="center")
d2l.describe(ax, """Bars on a logarithmic axis: a dense layer has a
    million million weights, a shared one about four million, a shared and
    local one 441 for radius 10 and 9 for radius 1.""")

# %% [markdown]
# **Figure 7.1.5.** Weights of one layer from $1000\times1000$ to $1000\times1000$ pixels.
# The last two counts do not depend on the size of the image.

# %% [markdown]
# Sharing and locality both save *parameters*, and locality also saves computation: 9 products for each output instead of a million.
# Pooling ([Section 7.5](05-pooling.ipynb)) saves *resolution*, and has no influence on the size of the kernels.

# %% [markdown]
# ### Equivariance, and where it ends
#
# By construction (7.1.5) commutes with shifts when the image wraps around.
# With zero padding it does not quite, since the edge looks different from the inside.
# The outputs still agree wherever no window touches an edge, neither that of the image nor the seam that the shift has moved into it.

# %%
# check 7.1-C4: circular padding is equivariant, zero padding inside only
rng = torch.Generator().manual_seed(6)
image = torch.randn(1, 1, 16, 16, generator=rng, dtype=f64)
kernel = torch.randn(1, 1, 3, 3, generator=rng, dtype=f64)


def conv(X, mode):
    """3x3 convolution with padding 1 of the given mode."""
    return F.conv2d(F.pad(X, (1, 1, 1, 1), mode=mode), kernel)


a, b = (conv(shift(image, 2, 3), "circular"),
        shift(conv(image, "circular"), 2, 3))
torch.testing.assert_close(a, b)  # equivariant
torch.testing.assert_close(a.amax(), conv(image, "circular").amax())
a, b = (conv(shift(image, 2, 3), "constant"),
        shift(conv(image, "constant"), 2, 3))
torch.testing.assert_close(a[..., 3:15, 4:15], b[..., 3:15, 4:15])
differs = ((a - b).abs() > 1e-6)[0, 0]  # (16, 16)
assert differs[[0, 1, 2, 15]].all() and differs[:, [0, 2, 3, 15]].all()

# %% [markdown]
# The rows 0 and 15 are the edge, and the rows 1 and 2 are where it went; the same holds for the columns 0, 15, 2 and 3.
# So a zero-padded layer is equivariant in the interior only.
# With every further layer the influence of the edge reaches $\Delta$ pixels deeper.

# %% [markdown]
# ## What the constraint buys, and what it costs
#
# Fewer weights need fewer examples.
# Both layers are linear, so least squares can measure it without any training.
# Let the truth be a $3\times3$ kernel that maps random $8\times8$ images to $8\times8$ images, without noise.
# One learner knows that the map is a convolution and looks for its 9 weights; the other one fits all $64\times64$ weights of a dense layer.
# While there are fewer than 64 images, many dense layers fit them perfectly, and we take the one with the smallest weights, as gradient descent from zero would ([Section 3.1](../03-linear-regression/01-linear-regression.ipynb)).
#
# The *relative test error* is the squared error on new images, divided by the error of always answering zero.
# For the dense layer theory predicts it.
# The minimum-norm solution is right on the space that the $n$ training images span and answers 0 orthogonally to it.
# A random image has on average the share $n/64$ of its squared length in that space, so the error is about $1-n/64$.

# %%
def patches(images):
    """Windows of images (n, 8, 8) with zero padding -> (n, 64, 9)."""
    return F.unfold(images[:, None], 3, padding=1).mT


def fit_dense(images, targets):
    """Minimum-norm W (64, 64) with flat images @ W = flat targets."""
    return torch.linalg.pinv(images.flatten(1)) @ targets.flatten(1)


def fit_conv(images, targets):
    """Least-squares kernel (9,); every pixel of a target is an equation."""
    A = patches(images).reshape(-1, 9)  # (64 n, 9)
    return torch.linalg.lstsq(A, targets.reshape(-1, 1)).solution[:, 0]


def test_errors(truth, n):
    """Relative test errors (dense, conv) after n random images."""
    rng = torch.Generator().manual_seed(7)
    test = torch.randn(500, 8, 8, generator=rng, dtype=f64)
    train = torch.randn(n, 8, 8, generator=rng, dtype=f64)
    scale = truth(test).square().sum()
    dense = test.flatten(1) @ fit_dense(train, truth(train))  # (500, 64)
    conv = patches(test) @ fit_conv(train, truth(train))  # (500, 64)
    return [((guess - truth(test).flatten(1)).square().sum() / scale).item()
            for guess in (dense, conv)]

# %%
rng = torch.Generator().manual_seed(8)
secret = torch.randn(3, 3, generator=rng, dtype=f64)


def filtered(images):  # a task that is a convolution
    return F.conv2d(images[:, None], secret[None, None], padding=1)[:, 0]


def mirrored(images):  # a task that is linear, but no convolution
    return images.flip(-1)


sizes = [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80]
curves = {name: np.array([test_errors(truth, n) for n in sizes]).T
          for name, truth in (("3×3 filter", filtered),
                              ("mirror image", mirrored))}

# %%
# check 7.1-C9: four images against sixty-four
for n in (1, 4, 16, 32, 48):
    dense, shared_error = test_errors(filtered, n)
    print(f"n = {n:2d}: dense {dense:.2f}, predicted {1 - n / 64:.2f}")
    assert abs(dense - (1 - n / 64)) < 0.05
    assert shared_error < 1e-20  # exact but for rounding
assert test_errors(filtered, 64)[0] < 1e-10
assert test_errors(filtered, 80)[0] < 1e-20
kernel4 = fit_conv(test := torch.randn(4, 8, 8, generator=rng, dtype=f64),
                   filtered(test))
torch.testing.assert_close(kernel4.reshape(3, 3), secret)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True)
for ax, (name, (dense, shared_error)) in zip(axes, curves.items()):
    ax.plot(sizes, dense, "o-", color="C1", ms=4, label="dense layer")
    ax.plot(sizes, shared_error, "s-", color="C0", ms=4, label="convolution")
    ax.plot([0, 64], [1, 0], ":", color="black", label="1 − n/64")
    ax.set(title=f"truth: {name}", xlabel="training images n")
axes[0].set_ylabel("relative test error")
axes[0].legend(loc="upper right")
d2l.describe(axes, """Test error against the number of training images, two
    panels. Where the truth is a filter, the error of the convolution is
    zero throughout, and that of the dense layer falls along the line one
    minus n over 64. Where the truth is mirroring, the dense layer falls
    along the same line, and the convolution stays near one.""")

# %% [markdown]
# **Figure 7.1.6.** Left, the assumption is right: the convolution is exact from the first image, and the dense layer needs 64.
# Right, the assumption is wrong: the error of the convolution stays near 1, while the dense layer learns mirroring as easily as filtering.
# (The little that it gains comes from the two middle columns, which are neighbours and mirror images of each other.)

# %% [markdown]
# An assumption that is built into a model is called an *inductive bias*.
# On the left it agrees with the task, and fewer examples are enough.
# On the right it does not, more data does not help, and we can say how much is out of reach.
# A weight $w$ on the right-hand neighbour serves the left one of the two middle columns and spoils the six others that have such a neighbour, so per row it costs $(1-w)^2+6w^2$ instead of 1; the best is $w=\frac17$ with $\frac67$, and the same on the other side.
# Of eight columns $8-\frac27$ remain: no kernel has an expected error below $1-\frac1{28}$, and with many images the training error is hardly lower.
# For photographs the bias is good but not perfect: in passport photos the eyes are at the same height, and shared weights cannot use this.

# %%
# check 7.1-C9, right panel: the convolution does not get below 27/28
rng = torch.Generator().manual_seed(9)
many = torch.randn(4000, 8, 8, generator=rng, dtype=f64)
best = fit_conv(many, mirrored(many))  # (9,)
left = (patches(many) @ best - mirrored(many).flatten(1)).square().mean()
print(f"error on 4000 training images {left:.3f}, theory {27 / 28:.3f}")
assert abs(left - 27 / 28) < 0.01 and abs(best[3] - 1 / 7) < 0.01
errors = [test_errors(mirrored, n) for n in (4, 80)]
assert errors[0][1] > 27 / 28 and abs(errors[1][1] - 27 / 28) < 0.01
assert errors[1][0] < 1e-20

# %% [markdown]
# ## Convolutions
#
# Why is (7.1.7) called a convolution?
# In mathematics the convolution of two functions $f,g:\mathbb{R}^d\to\mathbb{R}$ is the function
#
# $$(f*g)(\mathbf{x}) = \int f(\mathbf{z})\,g(\mathbf{x}-\mathbf{z})\,d\mathbf{z}, \tag{7.1.8}$$
#
# with $\mathbf{x},\mathbf{z}\in\mathbb{R}^d$.
# It measures how much $f$ overlaps with $g$ after $g$ has been flipped and shifted by $\mathbf{x}$.
# For sequences, and for arrays with two indices, the integral becomes a sum over all integers:
#
# $$(f*g)(i) = \sum_a f(a)\,g(i-a),\qquad (f*g)(i,j) = \sum_{a,b} f(a,b)\,g(i-a,j-b). \tag{7.1.9}$$
#
# Here $f$ and $g$ assign a number to every integer $i$ or pair $(i,j)$; outside the entries that are given they are 0.
#
# ![The sequence g = 0, 1, 0.5 is flipped to 0.5, 1, 0. Below f = 1, 2, 3 the flipped sequence stands in five rows, each one place further to the right. Next to each row is the sum of the products of numbers that stand above each other: 0, 1, 2.5, 4, 1.5.](img/conv-flip-slide.svg)
#
# **Figure 7.1.7.** Flip and slide: $(1,2,3)*(0,1,0.5)$.
# Flip $g$, move it along $f$, and at each place multiply what stands in one column and add.

# %%
def convolve(f, g):
    """(7.1.9) for two sequences whose first entry has index 0."""
    out = torch.zeros(len(f) + len(g) - 1, dtype=f.dtype)
    for i in range(len(out)):
        for a in range(len(f)):
            if 0 <= i - a < len(g):
                out[i] += f[a] * g[i - a]
    return out


def correlate(f, g):
    """The sums of f(a) g(i + a), from the first i with an overlap."""
    return convolve(f.flip(0), g)

# %% [markdown]
# Now compare with (7.1.7).
# There the index is $i+a$ and not $i-a$: nothing is flipped.
# The sum
#
# $$\sum_{a,b} f(a,b)\,g(i+a,j+b) \tag{7.1.10}$$
#
# with $f$ the kernel and $g$ the image is called *cross-correlation*, and this is what the layers of all common frameworks compute, although they are named after convolution.
# The choice is a convention.
# It is no cheaper, and it makes no difference to a network, because a learned kernel simply comes out flipped ([Section 7.2](02-convolutions.ipynb) trains both).
# It does make a difference when you bring a kernel from a textbook on signals, or compare with NumPy.
# A convolution does not care which of its arguments comes first; a cross-correlation does.
# (Exercise 7.1-3 meets one outside of images: the sum of two dice.)

# %%
# check 7.1-C6: convolution commutes, cross-correlation does not
f, g = torch.tensor([1, 2, 3], dtype=f64), torch.tensor([0, 1, 0.5],
                                                        dtype=f64)
expected = torch.tensor([0, 1, 2.5, 4, 1.5], dtype=f64)
for first, second in ((f, g), (g, f)):
    torch.testing.assert_close(convolve(first, second), expected)
    assert np.allclose(np.convolve(first, second), expected)
print("correlated:", correlate(f, g).tolist())
print("exchanged: ", correlate(g, f).tolist())
assert not torch.equal(correlate(f, g), correlate(g, f))
assert torch.equal(correlate(f, g), correlate(g, f).flip(0))
layer = F.conv1d(g[None, None], f[None, None], padding=2)  # PyTorch's "conv"
torch.testing.assert_close(layer[0, 0], correlate(f, g))

# %% [markdown]
# Image processing has long used hand-made kernels to blur, to sharpen, and to mark edges ([Section 7.2](02-convolutions.ipynb)).
# In a convolutional layer training chooses the kernels, and stacked layers extract features of features.

# %% [markdown]
# ## Channels
#
# A colour photograph has three numbers per pixel; it is a tensor with three axes, such as $1024\times1024\times3$, whose first two axes are places and whose third holds different measurements at one place.
# Let $[\mathsf{X}]_{i,j,c}$ be its entries.
# Satellites record tens to hundreds of bands of the spectrum, and CT and MRI scans add a third spatial axis.
#
# The hidden representation gets a third axis, too: $[\mathsf{H}]_{i,j,d}$.
# One grid of it may respond to vertical edges, another one to a texture.
# These grids are called *channels* or *feature maps*, and they give back expressiveness that locality and sharing took away.
# With $c$ the input channel and $d$ the output channel, the convolutional layer in full is
#
# $$[\mathsf{H}]_{i,j,d} = u_d+\sum_{a=-\Delta}^{\Delta}\ \sum_{b=-\Delta}^{\Delta}\ \sum_c [\mathsf{V}]_{a,b,c,d}\,[\mathsf{X}]_{i+a,j+b,c}. \tag{7.1.11}$$
#
# Here $\mathsf{V}\in\mathbb{R}^{(2\Delta+1)\times(2\Delta+1)\times c_i\times c_o}$ is the kernel for $c_i$ input and $c_o$ output channels, and $u_d$ is the bias of output channel $d$.
# Every output channel sees all input channels.
# Sharing and locality hold for the two axes of places, not for the channels: there is no reason why channel 2 should be treated like channel 3.

# %%
def conv_layer(X, V, u):
    """(7.1.11) without padding: X (h, w, ci), V (k, k, ci, co), u (co,)."""
    k = len(V)
    windows = X.unfold(0, k, 1).unfold(1, k, 1)  # (h-k+1, w-k+1, ci, k, k)
    return torch.einsum("ijcab,abcd->ijd", windows, V) + u


rng = torch.Generator().manual_seed(9)
photo = torch.randn(12, 10, 3, generator=rng, dtype=f64)
V = torch.randn(3, 3, 3, 64, generator=rng, dtype=f64)
u = torch.randn(64, generator=rng, dtype=f64)
H = conv_layer(photo, V, u)  # (10, 8, 64)
built_in = F.conv2d(photo.permute(2, 0, 1)[None], V.permute(3, 2, 0, 1), u)
torch.testing.assert_close(H, built_in[0].permute(1, 2, 0))
print(tuple(H.shape), "with", V.numel() + u.numel(), "parameters")

# %% [markdown]
# By convention PyTorch puts the channels before the places: images are (batch, channel, height, width), kernels (output channel, input channel, height, width).
# The two calls of `permute` translate.
#
# Why add up over the input channels instead of treating each alone?
# Because what matters may be a *relation* between them.
# The disk below differs from its background in hue only.
# The mean of its channels is constant, so nothing that looks at brightness can see it; a kernel that subtracts green from red can.

# %% tags=["hide-input"]
yy, xx = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
disk = (yy - 20) ** 2 + (xx - 20) ** 2 < 12**2  # (40, 40)
red, green = torch.tensor([0.8, 0.4, 0.3]), torch.tensor([0.4, 0.8, 0.3])
hue = torch.where(disk[..., None], red, green)  # (40, 40, 3)
edge = torch.zeros(3, 3, 3, 2)  # (k, k, ci, co)
edge[1, 0], edge[1, 2] = -1.0, 1.0  # right minus left neighbour
edge[..., 1] *= torch.tensor([1.0, -1.0, 0.0])  # red minus green
H = conv_layer(hue, edge, torch.zeros(2))  # (38, 38, 2)
assert H[..., 0].abs().max() < 1e-6 < 0.7 < H[..., 1].abs().max()
fig, axes = plt.subplots(1, 3, figsize=(7, 2.5))
axes[0].imshow(hue)
for k, title in ((0, "edges of brightness"), (1, "edges of red − green")):
    axes[k + 1].imshow(H[..., k], cmap="PuOr", vmin=-1, vmax=1)
    axes[k + 1].set_title(title)
axes[0].set_title("image")
for ax in axes:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
d2l.describe(axes, """Left a reddish disk on green of equal brightness. The
    response of a kernel that weights the channels alike is blank; the
    response of a kernel that subtracts green from red shows the left and
    the right rim of the disk with opposite signs.""")

# %% [markdown]
# **Figure 7.1.8.** Two output channels of one layer.
# The first kernel has equal weights for the three colours and finds nothing; the second one takes red positive and green negative and finds the left and right rims.

# %% [markdown]
# In the trained networks that Zeiler and Fergus looked into, many channels of the first layers responded to edges, colours and textures, those in the middle to parts such as wheels or eyes, and some of the last ones to whole objects.
# Each layer still looks at a small window only, but a window of windows is larger: that is the third principle.
# [Section 7.2](02-convolutions.ipynb) computes how far a unit sees, and [Section 7.4](04-channels.ipynb) is about channels.
#
# The whole resembles a viewer who inspects a picture region by region with the same trained eye, and then goes over the notes.

# %% [markdown]
# ## Summary
#
# - Writing a dense layer with relative indices changes nothing; making its weights independent of place gives a convolution, and cutting the window gives a convolutional layer with $(2\Delta+1)^2$ weights, whatever the size of the image.
# - Sharing is forced: the linear maps that commute with all cyclic shifts are exactly the circular convolutions.
# - Convolutions are equivariant to shifts, up to the edges; a classifier wants invariance, which takes a further step that forgets the position.
# - Where the truth was a $3\times3$ filter, one image did what took a dense layer 64; where it was mirroring, no number of images would do.
# - Frameworks compute cross-correlations, which do not flip the kernel; for learned kernels that is a matter of naming.
# - Channels restore expressiveness: from $1024\times1024\times3$, a dense layer to 1000 units needs about three billion weights, a $3\times3$ convolution to 64 channels fewer than two thousand.

# %% [markdown]
# ## Exercises
#
# ### Exercise 7.1-1
#
# Let $\Delta=0$ in (7.1.11).
# Show that the layer is a fully connected layer on the channels, applied to each pixel separately, and that all pixels share its weights.

# %% [markdown]
# #### Solution 7.1-1

# %% [markdown]
# For $\Delta=0$ only $a=b=0$ remains: $[\mathsf{H}]_{i,j,d}=u_d+\sum_c[\mathsf{V}]_{0,0,c,d}[\mathsf{X}]_{i,j,c}$.
# For each pixel this is a dense layer from $c_i$ to $c_o$ numbers with the matrix $[\mathsf{V}]_{0,0,:,:}$, and the matrix does not depend on $(i,j)$.
# `nn.Linear` acts on the last axis and treats all others as a batch, so it can be used as it is.

# %%
point = nn.Linear(3, 5, dtype=f64)
V = point.weight.T[None, None]  # (1, 1, 3, 5)
torch.testing.assert_close(conv_layer(photo, V, point.bias), point(photo))
one = nn.Conv2d(3, 5, kernel_size=1, dtype=f64)
with torch.no_grad():
    one.weight.copy_(point.weight[:, :, None, None])
    one.bias.copy_(point.bias)
H = one(photo.permute(2, 0, 1)[None])  # (1, 5, 12, 10)
torch.testing.assert_close(H[0].permute(1, 2, 0), point(photo))

# %% [markdown]
# ### Exercise 7.1-2
#
# Sound is a sequence of numbers, or of vectors such as the strengths of some frequencies.
# Derive a layer for sound from the same two principles, with channels.
# Are the principles reasonable there?

# %% [markdown]
# #### Solution 7.1-2

# %% [markdown]
# The dense layer is $h_{t,d}=u_{t,d}+\sum_{s,c}[\mathsf{W}]_{t,s,c,d}\,x_{s,c}=u_{t,d}+\sum_{a,c}[\mathsf{V}]_{t,a,c,d}\,x_{t+a,c}$ with time $t$.
# A word sounds the same now as a second later, so the weights must not depend on $t$.
# A short sound, such as a vowel or a click, lasts a few hundredths of a second, so $|a|\le\Delta$ is reasonable, too.
# What is left is
# $h_{t,d}=u_d+\sum_{a=-\Delta}^{\Delta}\sum_c[\mathsf{V}]_{a,c,d}\,x_{t+a,c}$, the layer of the time-delay networks.
# (Shifts along the *frequency* axis are another matter: a spoken "a" and its shifted copy may be different sounds.)

# %%
def audio_layer(x, V, u):
    """x (time, ci), V (2Δ+1, ci, co), u (co,) -> (time, co), zero padded."""
    r, steps = len(V) // 2, len(x)
    out = u.repeat(steps, 1)
    for t in range(steps):
        for a in range(-r, r + 1):
            if 0 <= t + a < steps:
                out[t] += x[t + a] @ V[a + r]
    return out


rng = torch.Generator().manual_seed(10)
sound = torch.randn(30, 2, generator=rng, dtype=f64)
V = torch.randn(5, 2, 3, generator=rng, dtype=f64)
u = torch.randn(3, generator=rng, dtype=f64)
built_in = F.conv1d(sound.mT[None], V.permute(2, 1, 0), u, padding=2)
torch.testing.assert_close(audio_layer(sound, V, u), built_in[0].mT)

# %% [markdown]
# ### Exercise 7.1-3
#
# Prove that $f*g=g*f$ for sequences with finitely many nonzero entries.
# Where does the proof fail for cross-correlation?
# And what has (7.1.9) to do with throwing two dice and adding up what they show?

# %% [markdown]
# #### Solution 7.1-3

# %% [markdown]
# In $(f*g)(i)=\sum_af(a)g(i-a)$ substitute $b=i-a$.
# While $a$ runs over all integers, so does $b$, once each.
# Hence $(f*g)(i)=\sum_bf(i-b)g(b)=(g*f)(i)$.
# In $\sum_af(a)g(i+a)$ the same step, $b=i+a$, gives $\sum_bf(b-i)g(b)$, which is the cross-correlation of $g$ with $f$ at $-i$: exchanging the arguments reverses the result, as check C6 showed.

# %%
rng = torch.Generator().manual_seed(11)
for _ in range(20):
    m, n = torch.randint(1, 9, (2,), generator=rng).tolist()
    f = torch.randn(m, generator=rng, dtype=f64)
    g = torch.randn(n, generator=rng, dtype=f64)
    torch.testing.assert_close(convolve(f, g), convolve(g, f))
    torch.testing.assert_close(correlate(f, g), correlate(g, f).flip(0))

# %% [markdown]
# Now the dice.
# The sum is $s$ if the first shows $a$ and the second the rest, so for independent numbers $X$ and $Y$
#
# $$P(X+Y=s) = \sum_a P(X=a)\,P(Y=s-a), \tag{7.1.12}$$
#
# with $s$ the sum and $a$ running over all faces.
# The distribution of a sum is the convolution of the distributions.
# The flip is natural here: to keep the sum, a larger $a$ needs a smaller $s-a$.
# In the figure the second die is loaded, its face $k$ having probability $k/21$, so that the flip can be seen.

# %%
fair = torch.full((6,), 1 / 6, dtype=f64)  # faces 1 to 6
loaded = torch.arange(1, 7, dtype=f64) / 21
total = convolve(fair, loaded)  # (11,): sums 2 to 12


def draw(fig, s):
    top, bottom = fig.subplots(2, 1)
    a = np.arange(1, 7)
    top.bar(a, fair.numpy(), width=0.85, color="C2", label="P(X = a)")
    slid = int(s) - a  # the a at which the second die shows 1, ..., 6
    top.bar(slid, loaded.numpy(), width=0.4, color="C1",
            label="P(Y = s − a)")
    top.set(xlim=(-5, 12), ylim=(0, 0.42), xlabel="a")
    top.legend(loc="upper right")
    marked = ["C0" if t == s else "#cccccc" for t in range(2, 13)]
    bottom.bar(range(2, 13), total.numpy(), color=marked)
    bottom.set(xlim=(1, 13), xlabel="s", ylabel="P(X + Y = s)",
               title=f"s = {s:.0f}: {total[int(s) - 2]:.3f}")


d2l.sliders(draw, """Top: bars of a fair die, and over them the bars of a
    loaded die, mirrored and shifted by s. Bottom: the distribution of
    the sum, with the bar of the chosen s in blue.""",
    figsize=(5, 3.8), s=list(range(2, 13)))

# %% [markdown]
# **Figure 7.1.9.** Choose a sum $s$: the mirrored bars of the second die slide along, and the products where both have bars add up to one bar below.
# At $s=7$ the two overlap completely, so whatever the second die, a fair first one makes the sum 7 with probability $\frac16$.

# %%
# check 7.1-C7: two dice, and two boxes
two = convolve(fair, fair)  # (11,): sums 2 to 12
assert two.argmax() + 2 == 7
torch.testing.assert_close(two.max(), torch.tensor(1 / 6, dtype=f64))
torch.testing.assert_close(total[7 - 2], two.max())
h = 0.01
box = np.ones(100)  # height 1 on [0, 1), in steps of h
triangle = np.convolve(box, box) * h  # (199,), the sum times h: (7.1.8)
assert np.isclose(triangle.max(), 1) and np.isclose(triangle.sum() * h, 1)
slopes = np.diff(triangle) / h
assert np.allclose(slopes[:99], 1) and np.allclose(slopes[99:], -1)

# %% tags=["hide-input"]
four_dice = convolve(two, two)  # sums 4 to 24
fig, axes = plt.subplots(1, 2, figsize=(7, 2.6))
for start, law, style in ((1, fair, "s:"), (2, two, "o-"),
                          (4, four_dice, "^--")):
    name = "1 die" if start == 1 else f"{start} dice"
    axes[0].plot(range(start, start + len(law)), law, style, ms=4,
                 label=name)
axes[0].set(xlabel="sum", ylabel="probability", ylim=(0, 0.2))
t = h * np.arange(-30, 230)
padded = np.zeros((2, len(t)))
padded[0, 30:130], padded[1, 30:229] = box, triangle
axes[1].plot(t, padded[0], "--", label="box")
axes[1].plot(t, padded[1], label="box * box")
axes[1].set(xlabel="x", ylim=(0, 1.35))
for ax in axes:
    ax.legend()
d2l.describe(axes, """Left: the distribution of one die is flat, of the sum
    of two a triangle with its peak at 7, of the sum of four a bell. Right:
    a box of height 1 over the unit interval and its convolution with
    itself, a triangle of height 1 over an interval of length 2.""")

# %% [markdown]
# **Figure 7.1.10.** Here convolving makes wider and smoother: flat laws give a triangle, and more factors a bell.
# In an image the same happens if a picture is convolved with a box, which is why that blurs it.

# %% [markdown]
# ### Exercise 7.1-4
#
# Invariance can hurt.
# An image is black but for one bright dot, and the label is the quadrant of the dot.
# Show that a network of convolutions with circular padding, ReLUs and a mean over all positions cannot be better than guessing.
# Name two remedies.

# %% [markdown]
# #### Solution 7.1-4

# %% [markdown]
# Any two of the images are cyclic shifts of each other.
# Convolutions with circular padding and ReLUs are equivariant, and the mean over all positions is invariant, so the network gives *all* images the same class scores.
# It answers with one quadrant for all and is right for a quarter of them, whatever its weights.
#
# A dense layer on the pixels solves the task exactly, by a weight of 1 from each pixel to its quadrant.
# Another remedy keeps the convolutions and gives them the coordinates as two further input channels.
# Zero padding gives something away, by accident: near the edge, an output can depend on how far away the edge is.

# %%
n = 16
dots = torch.eye(n * n, dtype=f64).reshape(-1, 1, n, n)  # every position
index = torch.arange(n * n)
label = 2 * (index // n >= n // 2) + (index % n >= n // 2)  # 0, 1, 2, 3


def scores(padding_mode):
    """Class scores (256, 4) of a random network with global average."""
    torch.manual_seed(12)
    kind = {"padding": 1, "padding_mode": padding_mode, "dtype": f64}
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, **kind), nn.ReLU(), nn.Conv2d(8, 8, 3, **kind),
        nn.ReLU(), nn.Conv2d(8, 4, 3, **kind),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        return net(dots)


out = scores("circular")
torch.testing.assert_close(out, out[:1].expand_as(out))  # all the same
assert (out.argmax(dim=1) == label).double().mean() == 0.25
assert (scores("zeros") - scores("zeros")[136]).abs().max() > 1e-4
W = F.one_hot(label, 4).to(f64)  # (256, 4), the dense remedy
assert torch.equal((dots.flatten(1) @ W).argmax(dim=1), label)

# %% [markdown]
# ### Exercise 7.1-5
#
# Show that the vectors $\mathbf{z}_k$ with entries $e^{2\pi\mathrm{i}kt/n}$, $t=0,\dots,n-1$, are eigenvectors of every circulant matrix, where $\mathrm{i}$ is the imaginary unit.
# What does this say about computing circular convolutions with large kernels?

# %% [markdown]
# #### Solution 7.1-5

# %% [markdown]
# With $[\mathbf{A}\mathbf{x}]_t=\sum_av_ax_{t+a}$, indices modulo $n$,
# $[\mathbf{A}\mathbf{z}_k]_t=\sum_av_ae^{2\pi\mathrm{i}k(t+a)/n}=\left(\sum_av_ae^{2\pi\mathrm{i}ka/n}\right)e^{2\pi\mathrm{i}kt/n}$.
# So $\mathbf{z}_k$ is an eigenvector, and its eigenvalue $\sum_av_ae^{2\pi\mathrm{i}ka/n}$ is, up to the sign in the exponent, entry $k$ of the discrete Fourier transform of $\mathbf{v}$.
# All circulant matrices share these eigenvectors, because they all commute with the shift, which has $n$ different eigenvalues.
#
# In the basis of the $\mathbf{z}_k$ a circular convolution is therefore an elementwise product (the *convolution theorem*).
# The fast Fourier transform changes the basis in about $n\log n$ operations instead of the $n^2$ of a matrix product, which pays for large kernels.
# For $3\times3$ kernels the direct sum is faster.

# %%
n = 8
rng = torch.Generator().manual_seed(13)
v, x = torch.randn(2, n, generator=rng, dtype=f64)
A = torch.stack([torch.roll(v, i) for i in range(n)])  # A[i, i + a] = v_a
t = torch.arange(n, dtype=f64)
Z = torch.exp(2j * torch.pi * torch.outer(t, t) / n)  # column k is z_k
D = torch.linalg.inv(Z) @ A.to(Z.dtype) @ Z
eigenvalues = torch.fft.fft(v).conj()  # v is real: conj flips the sign
torch.testing.assert_close(D, torch.diag(eigenvalues))
fast = torch.fft.ifft(eigenvalues * torch.fft.fft(x)).real
torch.testing.assert_close(fast, A @ x)

# %% [markdown]
# ### Exercise 7.1-6
#
# Discuss which of the assumptions carry over to text, written as a sequence of word vectors.

# %% [markdown]
# #### Solution 7.1-6

# %% [markdown]
# *Translation* carries over in part.
# "Not good" means much the same at the beginning as at the end of a review, so shared weights are sensible, and one-dimensional convolutions classify texts well ([Section 16.3](../16-nlp-applications/03-sentiment-cnn.ipynb)).
# But places are not alike in every text: the first sentence of a news item sums it up.
#
# *Locality* is weaker than in images.
# Neighbouring words do form phrases, but a pronoun may refer to a name two pages before, and a verb to a subject far away.
# Networks for text therefore let all words interact, with weights that depend on the content instead of the offset: this is attention (Chapter 11).
#
# *Within* a word vector neither holds: neighbouring entries of the vector have no relation, so they are channels.
# And the window matters: with $\Delta=0$ and a mean over all positions the order of the words is lost altogether, as the code confirms.

# %%
rng = torch.Generator().manual_seed(14)
vectors = dict(zip(("dog", "bites", "man"),
                   torch.randn(3, 1, 4, generator=rng, dtype=f64)))


def text_score(sentence, width):
    """Mean over positions of ReLU(convolution) with the given window."""
    torch.manual_seed(15)
    net = nn.Conv1d(4, 6, width, dtype=f64)
    x = torch.cat([vectors[word] for word in sentence.split()])  # (3, 4)
    return F.relu(net(x.mT)).mean(dim=1).detach()  # (6,)


pair = ("dog bites man", "man bites dog")
torch.testing.assert_close(*(text_score(s, 1) for s in pair))
assert (text_score(pair[0], 2) - text_score(pair[1], 2)).abs().max() > 0.01

# %% [markdown]
# ## Sources
#
# - K. Fukushima, Neocognitron, 1980, [doi:10.1007/BF00344251](https://doi.org/10.1007/BF00344251): local, shared detectors in layers.
# - A. Waibel et al., Phoneme recognition using time-delay neural networks, 1989, [doi:10.1109/29.21701](https://doi.org/10.1109/29.21701): sharing along time.
# - Y. LeCun et al., Backpropagation applied to handwritten zip code recognition, 1989, [doi:10.1162/neco.1989.1.4.541](https://doi.org/10.1162/neco.1989.1.4.541): learned kernels.
# - T. Cohen and M. Welling, Group equivariant convolutional networks, 2016, [arXiv:1602.07576](https://arxiv.org/abs/1602.07576); R. Kondor and S. Trivedi, On the generalization of equivariance and convolution, 2018, [arXiv:1802.03690](https://arxiv.org/abs/1802.03690): the theorem on constrained layers for other symmetries.
# - Z. Li, Y. Zhang and S. Arora, Why are convolutional nets more sample-efficient than fully-connected nets?, 2020, [arXiv:2010.08515](https://arxiv.org/abs/2010.08515): what the constraint buys, in theory.
# - M. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, 2013, [arXiv:1311.2901](https://arxiv.org/abs/1311.2901): what channels of different layers respond to.
# - R. Liu et al., An intriguing failing of convolutional neural networks and the CoordConv solution, 2018, [arXiv:1807.03247](https://arxiv.org/abs/1807.03247): Exercise 7.1-4.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
