# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu:
#         epochs: 80
#         num_seeds: 3
#       smoke:
#         epochs: 1
#         num_seeds: 1
#     rehearsal:
#       epochs: 0.05
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
# # 14.10 Transposed convolution
#
# Convolutions with a stride make maps smaller, but a network that labels every pixel, or draws a picture, has to end at the full size.
# [Section 7.3](../07-convolutional-neural-networks/03-padding-and-stride.ipynb) met the layer that goes the other way, the transposed convolution, as the adjoint of a convolution.
# Here we build it, find out which size it really restores, and see the grid that it prints into pictures: where this comes from, what does not cure it, and what does.
#
# **You will**
#
# - compute a transposed convolution by hand, with channels, stride, padding and `output_padding`;
# - say exactly when it brings back the size that a convolution took away;
# - write it as a matrix, and recognize the forward and backward passes of a convolution in it;
# - measure checkerboard patterns in the outputs of small decoders, and remove them by a constraint on the kernel.
#
# **Cost**: about half a minute on a CPU, which is enough; no download.

# %%
import itertools
import timeit

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.computer_vision import evaluate, train_ch14
from d2l_helpers.chapters.convolutional_neural_networks import (
    conv_out, corr2d, count_macs)

d2l.use_style()

# %% tags=["parameters"]
epochs = 20  # passes over the crops when a decoder is trained
num_seeds = 3  # trainings of each decoder

# %% [markdown]
# ## Every input writes a copy of the kernel
#
# A convolution reads: it lays the kernel over a window of the input and adds up the products into one output.
# A transposed convolution writes: each input multiplies the whole kernel and adds this copy to a window of the output.
# With stride $s$ the copies of neighbouring inputs are $s$ pixels apart, and where copies overlap they add up:
#
# $$[\mathbf{Y}]_{u,v}=\sum_{i,j}\ \sum_{a,b}\ [\mathbf{X}]_{i,j}\,[\mathbf{K}]_{a,b}\qquad\text{over all}\quad is+a=u,\quad js+b=v. \tag{14.10.1}$$
#
# Here $\mathbf{X}\in\mathbb{R}^{h\times w}$ is the input, $\mathbf{K}\in\mathbb{R}^{k\times k}$ the kernel, $(i,j)$ a position of the input, $(a,b)$ one of the kernel, and $(u,v)$ one of the output, all counted from 0.
# For stride 1 this takes two loops:

# %%
def trans_conv(X, K):
    """Transposed convolution of X (h, w) with K (kh, kw), stride 1.

    Returns (h + kh - 1, w + kw - 1).
    """
    kh, kw = K.shape
    Y = X.new_zeros(X.shape[0] + kh - 1, X.shape[1] + kw - 1)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            Y[i:i + kh, j:j + kw] += X[i, j] * K
    return Y

# %% tags=["hide-input"]
def cells(ax, values, title="", marked=None, faint=None):
    """Draw a matrix as numbers in cells; nan leaves a cell empty.

    `marked` = (top, left, height, width) outlines a part; `faint` is a
    mask of cells to grey out.
    """
    filled = values.nan_to_num(0)
    ax.imshow(filled, cmap="Blues", vmin=0, vmax=2.2 * filled.max() + 1e-9)
    for (i, j), value in np.ndenumerate(values.numpy()):
        if value == value:  # nan is not equal to itself
            pale = faint is not None and bool(faint[i, j])
            ax.text(j, i, f"{value:g}", ha="center", va="center",
                    fontsize=9, color="0.65" if pale else "black")
    rows, cols = values.shape
    ax.set_xticks(torch.arange(-0.5, cols).tolist(), labels=[])
    ax.set_yticks(torch.arange(-0.5, rows).tolist(), labels=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=9)
    if marked:
        top, left, h, w = marked
        ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), w, h, lw=2.5,
                                   fill=False, ec="C1", clip_on=False))


X = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
K = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
fig, axes = plt.subplots(1, 6, figsize=(7.2, 1.6),
                         width_ratios=[2, 3, 3, 3, 3, 3])
cells(axes[0], X, "X = K")
for ax, (i, j) in zip(axes[1:], itertools.product((0, 1), (0, 1))):
    copy = torch.full((3, 3), torch.nan)
    copy[i:i + 2, j:j + 2] = X[i, j] * K
    cells(ax, copy, f"{X[i, j]:g} x K", (i, j, 2, 2))
cells(axes[5], trans_conv(X, K), "sum = Y")
d2l.describe(axes, """The 2x2 input 0, 1, 2, 3, then four 3x3 matrices, in each
    of which one input times the kernel stands at that input's place, and
    their sum with the rows 0 0 1, 0 4 6 and 4 12 9.""")

# %% [markdown]
# **Figure 14.10.1.** A transposed convolution step by step.
# Each input sends the kernel, multiplied by the input's value, to its own place; the sum of the four copies is the output.

# %% [markdown]
# Layers in a network have channels.
# Each input channel has one kernel for each output channel, and the copies from all input channels add up, so the weight has the shape $(c_\mathrm{i},c_\mathrm{o},k,k)$.
# A convolution's weight has the output channels first; we will see why the order is swapped.
# Padding has a meaning that may surprise: it *removes* rows and columns of the output, `padding` of them on each side.
# The argument `output_padding` keeps that many more rows at the bottom and columns at the right.

# %%
def trans_conv_full(X, K, stride=1, padding=0, output_padding=0):
    """Transposed convolution of X (c_i, h, w) with K (c_i, c_o, k, k).

    `padding` rows and columns are cut from every side of the output, but
    `output_padding` fewer at the bottom and right. Returns (c_o, h', w').
    """
    if not 0 <= output_padding < stride:
        raise ValueError(f"output_padding is {output_padding}; it must be "
                         f"at least 0 and below the stride {stride}.")
    (_, h, w), (_, c_o, k, _) = X.shape, K.shape
    more = k + output_padding
    Y = X.new_zeros(c_o, (h - 1) * stride + more, (w - 1) * stride + more)
    for i in range(h):
        for j in range(w):
            copy = torch.einsum("c,coab->oab", X[:, i, j], K)
            u, v = i * stride, j * stride
            Y[:, u:u + k, v:v + k] += copy
    bottom, right = Y.shape[1] - padding, Y.shape[2] - padding
    return Y[:, padding:bottom, padding:right]


def one_channel(**options):
    return trans_conv_full(X[None], K[None, None], **options)[0].tolist()


print("stride 2: ", one_channel(stride=2))
print("padding 1:", one_channel(padding=1))

# %%
# check 14.10-C1: the figure, padding 1 and stride 2 by hand
assert trans_conv(X, K).tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
assert one_channel() == trans_conv(X, K).tolist()
assert one_channel(padding=1) == [[4]]
assert one_channel(stride=2) == [[0, 0, 0, 1], [0, 0, 2, 3],
                                 [0, 2, 0, 3], [4, 6, 6, 9]]
wide = trans_conv(torch.ones(1, 3), torch.tensor([[1.0], [2.0]]))
assert wide.tolist() == [[1, 1, 1], [2, 2, 2]]  # a kernel of two rows

# %% [markdown]
# PyTorch's `F.conv_transpose2d` takes the same weight and the same arguments.
# Only what was cut can be kept: if `output_padding` exceeds `padding`, the rows and columns beyond are zeros.

# %%
# check 14.10-C2: own loops equal PyTorch's for random channels
rng = torch.Generator().manual_seed(1)
f64 = torch.float64
Z = torch.randn(3, 4, 5, generator=rng, dtype=f64)  # (c_i, h, w)
for s, p, k in itertools.product((1, 2, 3), (0, 1, 2), (3, 4)):
    weight = torch.randn(3, 2, k, k, generator=rng, dtype=f64)
    for more in range(s):
        options = dict(stride=s, padding=p, output_padding=more)
        own = trans_conv_full(Z, weight, **options)
        torch.testing.assert_close(
            own, F.conv_transpose2d(Z[None], weight, **options)[0])
        if more:  # the first row that output_padding keeps
            assert (own[:, -more] == 0).all() == (p == 0)
try:
    trans_conv_full(Z, weight, stride=2, output_padding=2)
    raise AssertionError("output_padding 2 with stride 2 was accepted")
except ValueError as error:
    assert "below the stride 2" in str(error)

# %% [markdown]
# ## Which size comes back
#
# The last of $n$ copies begins at $(n-1)s$ and has $k$ entries; then padding cuts both ends.
# Along one axis the output has
#
# $$n^\mathrm{out}=(n-1)s-2p+k+o \tag{14.10.2}$$
#
# entries, with the stride $s$, the padding $p$, the kernel size $k$ and the output padding $o<s$.
# For example, $n=4$, $s=2$, $p=1$ and $k=3$ give $6-2+3=7$, and $o=1$ makes it 8.

# %% tags=["export"]
def tconv_out(n, k, padding=0, stride=1, output_padding=0):
    """Output size of a transposed convolution along one axis, (14.10.2).

    `n` is the input size and `k` that of the kernel. Raises ValueError if
    padding leaves nothing.
    """
    size = (n - 1) * stride - 2 * padding + k + output_padding
    if size < 1:
        raise ValueError(f"a padding of {padding} cuts all of the "
                         f"{size + 2 * padding} outputs; pad less.")
    return size

# %% tags=["hide-input"]
def draw(fig, n, k, s, p):
    n, k, s, p = int(n), int(k), int(s), int(p)
    full = tconv_out(n, k, 0, s)
    rows = torch.zeros(n + 1, full)  # a copy for each input, their number
    for i in range(n):
        rows[i, i * s:i * s + k] = 1
    rows[n] = rows[:n].sum(0)
    ax = fig.subplots()
    ax.pcolormesh(rows, cmap="Blues", vmin=0, vmax=5, edgecolors="white",
                  lw=2)
    for j, count in enumerate(rows[n].tolist()):
        ax.text(j + 0.5, n + 0.5, f"{count:g}", ha="center", va="center")
    for left in (0, full - p):
        ax.add_patch(plt.Rectangle((left, 0), p, n + 1, fc="white",
                                   alpha=0.75, zorder=3))
    ax.set_xticks([0.5 + j for j in range(full)], labels=range(full))
    ax.set_yticks([0.5 + i for i in range(n + 1)],
                  labels=[*map(str, range(n)), "copies"])
    ax.set(xlabel="output", ylabel="input", ylim=(n + 1, 0),
           title=f"({n} - 1) x {s} - 2 x {p} + {k} = {full - 2 * p}")
    ax.grid(False)


d2l.sliders(draw, """Rows are inputs and columns outputs; each row has a block
    of filled cells, the copy of the kernel, shifted by the stride from row to
    row. The last row counts the copies that each output receives; outputs
    that padding cuts are pale.""", figsize=(4.4, 2.4), n=[2, 4],
    k=[2, 3, 4], s=[1, 2, 3], p=[0, 1])

# %% [markdown]
# **Figure 14.10.2.** One axis of a transposed convolution.
# Each row is the copy that one input writes; the last row counts how many copies reach an output; pale outputs are cut by padding.
# Try stride 2 with kernels 2, 3 and 4, and stride 3 with kernel 2.

# %% [markdown]
# A convolution has $\lfloor(n+2p-k)/s\rfloor+1$ outputs (`conv_out` of [Section 7.3](../07-convolutional-neural-networks/03-padding-and-stride.ipynb)).
# Put this into (14.10.2) with the same $k$, $s$ and $p$.
# If the division leaves no remainder, the result is $n$.
# If it leaves the remainder $r=(n+2p-k)\operatorname{mod}s$, the result is $n-r$, since
#
# $$\Bigl\lfloor\frac{n+2p-k}{s}\Bigr\rfloor s-2p+k=(n+2p-k-r)-2p+k=n-r. \tag{14.10.3}$$
#
# So "a transposed convolution with equal hyperparameters restores the shape", which is often said, holds for only one of any $s$ sizes in a row.
# A stride maps $s$ sizes to the same output, and the way back has to be told which one: that is the task of $o=r$.

# %%
there = [conv_out(n, 5, 2, 3) for n in range(16, 21)]
back = [tconv_out(m, 5, 2, 3) for m in there]
print("from", list(range(16, 21)), "to", there, "and back to", back)

# %%
# check 14.10-C5: equal hyperparameters restore n iff s divides n + 2p - k
assert there == [6, 6, 6, 7, 7] and back == [16, 16, 16, 19, 19]
tried = 0
for k, s in itertools.product(range(1, 8), range(1, 5)):
    for p in range((k + 1) // 2):  # p < k / 2
        settings = dict(kernel_size=k, stride=s, padding=p, device="meta")
        conv = nn.Conv1d(1, 1, **settings)
        tconv = nn.ConvTranspose1d(1, 1, **settings)
        for n in range(max(1, k - 2 * p), 41):
            m = conv(torch.empty(1, 1, n, device="meta"))
            size = tconv(m).shape[-1]
            r = (n + 2 * p - k) % s
            assert (size == n) == (r == 0) and size == n - r
            assert size == tconv_out(m.shape[-1], k, p, s)
            assert tconv_out(m.shape[-1], k, p, s, output_padding=r) == n
            tried += 1
assert tried > 2000
try:
    tconv_out(1, 2, padding=1)
    raise AssertionError("a size of 0 was accepted")
except ValueError as error:
    assert "all of the 2 outputs" in str(error)

# %% [markdown]
# ## The transpose of a matrix
#
# A convolution is linear, so it is a matrix $\mathbf{W}$ that maps the flattened input to the flattened output, $\mathbf{y}=\mathbf{W}\mathbf{x}$.
# Each row of $\mathbf{W}$ holds the kernel at the places of the window that one output reads, and zeros elsewhere.
# The same matrix read by columns says to which outputs an input contributes.

# %%
def kernel2matrix(K, n, stride=1, padding=0):
    """The convolution of an n x n input with K (k, k), as a matrix.

    Returns (m * m, n * n), where m x m is the size of the output.
    """
    k = K.shape[0]
    m = conv_out(n, k, padding, stride)
    W = K.new_zeros(m, m, n, n)
    for i, j, a, b in itertools.product(*map(range, (m, m, k, k))):
        u, v = i * stride - padding + a, j * stride - padding + b
        if 0 <= u < n and 0 <= v < n:  # else it reads padding
            W[i, j, u, v] = K[a, b]
    return W.reshape(m * m, n * n)


X = torch.arange(9.0).reshape(3, 3)
K = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
W = kernel2matrix(K, 3)  # (4, 9)
Y = corr2d(X, K)         # (2, 2)
back = trans_conv(Y, K)  # (3, 3)
print("Y:", Y.tolist(), "\nback:", back.tolist())

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4),
                                  width_ratios=[9, 4])
cells(left, W, r"$y = W\,x$", (1, 0, 1, 9), faint=W == 0)
cells(right, W.T, r"$x' = W^\top y$", (0, 1, 9, 1), faint=W.T == 0)
left.set(xlabel="input", ylabel="output")
right.set(xlabel="input", ylabel="output")
d2l.describe(fig, """Left a 4x9 matrix with four rows that each hold the
    numbers 1, 2, 3, 4 among zeros, shifted from row to row; its second row is
    outlined. Right its transpose, 9x4, with the same entries as the outlined
    second column.""")

# %% [markdown]
# **Figure 14.10.3.** The matrix of a 2x2 kernel on a 3x3 input, and its transpose.
# The outlined row says what the second output of the convolution reads; transposed, it says what the second input of the transposed convolution writes.

# %%
# check 14.10-C3: the matrix does both ways, and the way back is no inverse
assert Y.tolist() == [[27, 37], [57, 67]]
assert torch.equal(W @ X.flatten(), Y.flatten())
assert back.tolist() == [[27, 91, 74], [138, 400, 282], [171, 429, 268]]
assert torch.equal(W.T @ Y.flatten(), back.flatten())
assert not torch.allclose(back, X)
rng = torch.Generator().manual_seed(3)
for n, k, s, p in ((5, 3, 2, 1), (6, 3, 2, 0), (7, 4, 3, 2)):
    x = torch.randn(n, n, generator=rng, dtype=f64)
    kernel = torch.randn(k, k, generator=rng, dtype=f64)
    matrix = kernel2matrix(kernel, n, s, p)
    y = F.conv2d(x[None, None], kernel[None, None], stride=s, padding=p)
    torch.testing.assert_close(matrix @ x.flatten(), y.flatten())
    up = F.conv_transpose2d(y, kernel[None, None], None, s, p,
                            output_padding=(n + 2 * p - k) % s)
    torch.testing.assert_close(matrix.T @ y.flatten(), up.flatten())

# %% [markdown]
# The shape came back, the values did not.
# They could not: four numbers do not determine nine, whatever the method.
# "Deconvolution", a name under which the layer is also found, promises an inverse that it is not.
#
# What the layer computes is the backward pass from the output of a convolution to its input.
# The chain rule multiplies the gradient that arrives by $\mathbf{W}^\top$, so backpropagation to the input of a convolution *is* a transposed convolution with the same weight (the gradient for the weight itself is another matter); that is why the weight of one fits the other unchanged, with the roles of its first two axes exchanged.
# And since the transpose of the transpose is $\mathbf{W}$, backpropagation to the input of a transposed convolution is a convolution.
# Both follow from the adjoint identity $\langle\mathbf{W}\mathbf{u},\mathbf{v}\rangle=\langle\mathbf{u},\mathbf{W}^\top\mathbf{v}\rangle$, which makes a good test of any such pair of programs, because it needs no reference result:

# %%
# check 14.10-C4: adjoint identity; each is the gradient of the other
rng = torch.Generator().manual_seed(4)
for n, k, s, p in ((8, 3, 1, 1), (8, 3, 2, 1), (9, 5, 3, 2), (7, 2, 2, 0)):
    weight = torch.randn(4, 3, k, k, generator=rng)  # from 3 channels to 4
    u = torch.randn(3, n, n, generator=rng)
    m, more = conv_out(n, k, p, s), (n + 2 * p - k) % s
    v = torch.randn(4, m, m, generator=rng)
    conv, conv_grad = torch.func.vjp(
        lambda u: F.conv2d(u, weight, stride=s, padding=p), u)
    tconv = trans_conv_full(v, weight, s, p, more)
    torch.testing.assert_close((conv * v).sum(), (u * tconv).sum(),
                               rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(conv_grad(v)[0], tconv)
    _, tconv_grad = torch.func.vjp(
        lambda v: F.conv_transpose2d(v, weight, None, s, p, more), v)
    torch.testing.assert_close(tconv_grad(u)[0], conv)

# %% [markdown]
# ## The checkerboard
#
# In Figure 14.10.2, stride 2 and kernel 3 give counts that alternate: one output is written by one copy, its neighbour by two.
# In two dimensions the counts multiply.
# We call the number of copies that reach an output its coverage.

# %%
def coverage(k, s, n, padding=0):
    """How many copies reach each output of a k x k kernel at stride s.

    The input is n x n. Returns (m, m), with m from (14.10.2).
    """
    ones = torch.ones(1, 1, n, n)
    return F.conv_transpose2d(ones, torch.ones(1, 1, k, k), stride=s,
                              padding=padding)[0, 0]


for k, padding in ((2, 0), (3, 1), (4, 1)):
    print(f"k = {k}:", coverage(k, 2, 5, padding)[3:5, 3:7].int().tolist())

# %%
# check 14.10-C6: 1, 2 and 4 copies for k = 3; even inside for k = 4
odd = coverage(3, 2, 6)  # (13, 13)
assert (odd[1::2, 1::2] == 1).all() and (odd[2:-1:2, 2:-1:2] == 4).all()
assert (odd[1::2, 2:-1:2] == 2).all() and (odd[2:-1:2, 1::2] == 2).all()
assert (coverage(4, 2, 6, 1)[1:-1, 1:-1] == 4).all()
assert (coverage(2, 2, 6) == 1).all()
for k, s in itertools.product(range(1, 8), range(1, 5)):
    inside = coverage(k, s, 12)[k:-k, k:-k]  # away from the border
    assert (inside == inside[0, 0]).all() == (k % s == 0)
ones = torch.ones(1, 1, 3, 3)  # the same pattern in a gradient
_, grad = torch.func.vjp(lambda u: F.conv2d(u, ones, stride=2),
                         torch.zeros(1, 1, 13, 13))
assert torch.equal(grad(torch.ones(1, 1, 6, 6))[0][0, 0], odd)

# %% [markdown]
# Away from the border the coverage is even exactly if $s$ divides $k$.
# (The last lines of the check show the same grid in the gradient that a strided convolution sends to its input.)
# This is the usual explanation of the checkerboards in generated pictures, and the usual advice is to choose $k$ divisible by $s$.
# But the kernel's values count too.
# Take an input that is $c$ everywhere.
# Away from the border the output at $(u,v)$ is
#
# $$[\mathbf{Y}]_{u,v}=c\,S_{(u+p)\operatorname{mod}s,\ (v+p)\operatorname{mod}s},\qquad S_{d,e}=\sum_{a\operatorname{mod}s=d}\ \sum_{b\operatorname{mod}s=e}[\mathbf{K}]_{a,b}, \tag{14.10.4}$$
#
# where $p$ is the padding and the $s\times s$ numbers $S_{d,e}$ are the *phase sums* of the kernel: of (14.10.1) only those entries are left for which $s$ divides $u+p-a$ and $v+p-b$, each once.
# A flat input, not zero, gives a flat output if and only if all phase sums are equal.
# With several channels this has to hold for each kernel, if every choice of constants in the channels is to give constants.
# Biases and activations treat all places alike, so a network of such layers keeps a flat area flat, too, up to a margin as wide as its windows reach.
# Coverage is the special case of a kernel of ones, and it does not decide for others: a kernel with uneven coverage can have equal sums, and one with even coverage can have unequal ones.

# %% tags=["export"]
def phase_sums(weight, stride):
    """Sums of a kernel's entries that share a place modulo the stride.

    `weight` (..., k, k) gives (..., stride, stride). A transposed
    convolution maps constants to constants, away from the border, if and
    only if the sums of each kernel are equal.
    """
    *rest, k, _ = weight.shape
    fill = -k % stride
    blocks = F.pad(weight, (0, fill, 0, fill)).unflatten(
        -1, (-1, stride)).unflatten(-3, (-1, stride))
    return blocks.sum((-4, -2))

# %%
rng = torch.Generator().manual_seed(0)
line = torch.tensor([0.5, 1.0, 0.5])
kernels = {"ones, k = 3": torch.ones(3, 3) / 2.25,
           "0.5, 1, 0.5, k = 3": torch.outer(line, line),
           "ones, k = 4": torch.ones(4, 4) / 4,
           "random, k = 4": 0.25 + 0.2 * torch.randn(4, 4, generator=rng)}
flat = {}
for name, kernel in kernels.items():
    k = kernel.shape[0]
    Y = F.conv_transpose2d(torch.ones(1, 1, 8, 8), kernel[None, None],
                           stride=2, padding=1)[0, 0]
    flat[name] = Y[2:14, 2:14]  # away from the border
    print(f"{name}: coverage {'un' * (k % 2)}even, phase sums",
          [round(v, 2) for v in phase_sums(kernel, 2).flatten().tolist()])

# %% tags=["hide-input"]
axes = d2l.show_images([Y / 2 for Y in flat.values()], 1, 4, list(flat),
                       scale=1.7)
d2l.describe(axes, """Four outputs for a constant input: a bright and dark grid
    for the kernel of ones of size 3, plain grey for the kernel 0.5, 1, 0.5
    and for the kernel of ones of size 4, a grid again for the random kernel
    of size 4.""")

# %% [markdown]
# **Figure 14.10.4.** What four kernels make of a constant input at stride 2, away from the border.
# The first two have uneven coverage, the last two have even coverage; in each pair one prints a grid and one does not.

# %%
# check: constants stay constant iff the phase sums are equal (14.10.4)
spread = {name: (Y.max() - Y.min()).item() for name, Y in flat.items()}
assert spread["0.5, 1, 0.5, k = 3"] == spread["ones, k = 4"] == 0
assert spread["ones, k = 3"] > 1 and spread["random, k = 4"] > 0.1
rng = torch.Generator().manual_seed(6)
for k, s, p in ((3, 2, 1), (4, 2, 1), (5, 3, 2), (2, 3, 0)):
    weight = torch.randn(2, 3, k, k, generator=rng)
    Y = F.conv_transpose2d(torch.ones(1, 2, 9, 9), weight, stride=s,
                           padding=p)[0]
    sums = phase_sums(weight, s).sum(0)  # both channels are 1: (3, s, s)
    for u, v in itertools.product(range(2 * s, 4 * s), repeat=2):
        torch.testing.assert_close(
            Y[:, u, v], sums[:, (u + p) % s, (v + p) % s])

# %% [markdown]
# In signal processing this is an old condition on filters that interpolate; Sugawara, Shiota and Kiya (2019) carried it over to networks with nonlinearities.
# Two other ways to enlarge a map are transposed convolutions in disguise.
#
# *Pixel shuffle* moves $s^2$ channels into the $s\times s$ places of a block, usually behind a convolution that computes them.
# The shuffle alone is a transposed convolution with $k=s$ and kernels of one 1: no overlap at all.
# Their phase sums, one 1 and otherwise 0, are unequal, so whether a grid appears is left to the convolution in front.
#
# *Resize-convolution*, in its most common form, first repeats every pixel $s$ times in both directions and then applies an ordinary convolution.
# For $s=2$ and a 3x3 kernel this is a transposed convolution with $k=4$ and $p=1$, whose kernel is the 3x3 one, flipped on both axes and smeared by a 2x2 box.
# Such a kernel has equal phase sums whatever its nine weights are, since each of them enters every phase exactly once.

# %%
def smear(weight):
    """Resize-convolution as a transposed convolution with stride 2.

    `weight` (c_o, c_i, 3, 3) of the convolution gives (c_i, c_o, 4, 4).
    """
    c_o, c_i = weight.shape[:2]
    written = weight.flip(2, 3).reshape(c_o * c_i, 1, 3, 3)
    box = torch.ones(1, 1, 2, 2, device=weight.device)
    return F.conv2d(written, box, padding=1).reshape(
        c_o, c_i, 4, 4).transpose(0, 1)

# %%
# check 14.10-C7: pixel shuffle has a one-hot kernel
rng = torch.Generator().manual_seed(7)
for s in (2, 3):
    Z = torch.randn(1, 2 * s * s, 4, 5, generator=rng)
    one_hot = torch.eye(s * s).reshape(s * s, 1, s, s).repeat(2, 1, 1, 1)
    shuffled = F.conv_transpose2d(Z, one_hot, stride=s, groups=2)
    assert torch.equal(shuffled, F.pixel_shuffle(Z, s))
# check: resize-convolution is a kernel of 4 with equal phase sums
conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
Z = torch.randn(1, 3, 6, 7, generator=rng)
with torch.no_grad():
    weight = smear(conv.weight)
    torch.testing.assert_close(
        F.conv_transpose2d(Z, weight, stride=2, padding=1),
        conv(F.interpolate(Z, scale_factor=2, mode="nearest")))
sums = phase_sums(weight, 2)  # (3, 5, 2, 2)
torch.testing.assert_close(sums, sums[..., :1, :1].expand_as(sums))

# %% [markdown]
# ## On a photograph
#
# Does training remove the grid, and does the choice of $k$ matter then?
# We take a photograph at half its height and width, shrink it to a quarter of these, and train small decoders, networks that enlarge, to undo the shrinking.
# A decoder has one convolution from 3 channels to 16, then two layers that each double height and width.
# They learn from crops of the left part of one of the two photographs that come with scikit-learn, and are tested on its right part, which has a large area of almost even sky.

# %%
class EqualSums(nn.ConvTranspose2d):
    """A transposed convolution with stride 2 and equal phase sums."""
    shift = 0

    @torch.no_grad()
    def project(self):
        """Go to the nearest weights with equal sums and the same total."""
        k, shift = self.kernel_size[0], self.shift
        weight = self.weight.roll((shift, shift), (2, 3))
        sums = phase_sums(weight, 2)  # (c_i, c_o, 2, 2)
        counts = phase_sums(torch.ones_like(weight), 2)
        change = (sums.mean((2, 3), keepdim=True) - sums) / counts
        weight = weight + change.repeat(1, 1, k, k)[..., :k, :k]
        self.weight.copy_(weight.roll((-shift, -shift), (2, 3)))


class ShiftedSums(EqualSums):
    """The same constraint with the kernel moved by a row and a column."""
    shift = 1

# %%
def upsampler(kind, c_i, c_o):
    """A layer that doubles height and width."""
    if kind == "resize":
        return nn.Sequential(nn.Upsample(scale_factor=2),
                             nn.Conv2d(c_i, c_o, 3, padding=1))
    layers = {"equal": EqualSums, "shifted": ShiftedSums}
    size, *tied = kind.removeprefix("k = ").split(", ")
    k = int(size)
    layer = layers[tied[0].split()[0]] if tied else nn.ConvTranspose2d
    return layer(c_i, c_o, k, stride=2, padding=(k - 1) // 2,
                 output_padding=k % 2)


def decoder(kind, channels=16):
    """From (n, 3, h, w) to (n, 3, 4 h, 4 w)."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(),
        upsampler(kind, channels, channels), nn.ReLU(),
        upsampler(kind, channels, 3))


kinds = ("k = 2", "k = 3", "k = 4", "resize", "k = 3, equal sums",
         "k = 3, shifted sums")
for kind in kinds:
    params = sum(p.numel() for p in decoder(kind).parameters())
    print(f"{kind:20s}{params:6d} parameters")

# %%
# check: constraints hold, the moves are the smallest, the draws are equal
for kind in kinds:
    assert decoder(kind)(torch.zeros(2, 3, 5, 6)).shape == (2, 3, 20, 24)
flat = torch.full((1, 3, 12, 12), 0.7)
for kind in kinds[4:]:
    nets = []
    for name in ("k = 3", kind):
        torch.manual_seed(0)
        nets.append(decoder(name))
    free, tied = nets
    for key, value in free.state_dict().items():
        assert torch.equal(tied.state_dict()[key], value)
    for i in (2, 4):
        inside = tied(flat).detach()[..., 16:-16, 16:-16]
        assert inside.std((2, 3)).min() > 0.01  # a grid, if one is free
        tied[i].project()
    move = tied[2].weight.detach() - free[2].weight.detach()
    assert move.sum((2, 3)).abs().max() < 1e-6  # the total stays
    shift = tied[2].shift
    sums = phase_sums(tied[2].weight.roll((shift, shift), (2, 3)), 2)
    torch.testing.assert_close(sums, sums.mean((2, 3), keepdim=True)
                               .expand_as(sums))
    move = move.roll((shift, shift), (2, 3))  # one step for each group
    torch.testing.assert_close(move, move.flip(2))
    torch.testing.assert_close(move, move.flip(3))
    inside = tied(flat).detach()[..., 16:-16, 16:-16]
    assert (inside.std((2, 3)) < 1e-6).all() == (kind == kinds[4])

# %% [markdown]
# The last two decoders have the layers of the second, uneven coverage included.
# After every update the kernels of the fifth are moved to the nearest ones that have equal phase sums and the same total.
# The sixth is a control: it obeys as many equations on groups as large, but on wrong groups, those of the kernel moved by a row and a column (and wrapped around).
#
# The grid of a decoder with two doublings repeats after four pixels.
# To measure it, we cut a picture into windows of 16x16 pixels and average the 16 phases, the places of row and column modulo 4, of each window separately.
# Most of a picture's details average out; a grid does not.
# Its strength is the root of the mean square of the phase means' deviations from their common mean, in grey levels of 255.

# %%
def grid_strength(pictures, window=16, period=4):
    """Strength of a grid of the given period in pictures (..., h, w).

    h and w are multiples of `window`, and that of `period`. Returns the
    root mean square deviation of the phase means, over all windows.
    """
    parts = (pictures.unflatten(-1, (-1, window // period, period))
             .unflatten(-4, (-1, window // period, period)))
    means = parts.mean((-5, -2))  # (..., i, 4, j, 4)
    means = means - means.mean((-3, -1), keepdim=True)
    return means.square().mean().sqrt().item()

# %%
# check: the energy at periods 4 and 2; windows do not cancel each other
rng = torch.Generator().manual_seed(9)
noise = torch.rand(16, 16, generator=rng)
waves = (torch.fft.fft2(noise) / 256)[::4, ::4]
energy = waves.abs().square().sum() - waves[0, 0].abs().square()
assert abs(grid_strength(noise) - energy.sqrt().item()) < 1e-6
board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(16, 24)
assert grid_strength(board) == 1 and grid_strength(0 * board + 3) == 0
assert grid_strength(torch.cat([board, -board])) == 1
slow = board.repeat_interleave(2, 0)  # two rows, then two opposite ones
assert grid_strength(slow) == 1 and grid_strength(slow, period=2) == 0
assert abs(grid_strength(noise + 5 * board[:16, :16]) - 5) < 0.1
assert grid_strength(torch.arange(64.0).expand(32, 64) // 4) < 1e-6

# %%
def left_and_right(name):
    """160 crops (160, 3, 32, 32) of a photograph's left part, and its right
    part (1, 3, 208, 128), both from -0.5 to 0.5."""
    photo = torch.from_numpy(load_sample_image(name).copy())
    photo = photo.permute(2, 0, 1)[None, :, :424].float() / 255 - 0.5
    photo = F.avg_pool2d(photo, 2)[0]  # (3, 212, 320)
    rng = torch.Generator().manual_seed(10)
    tops = torch.randint(212 - 32 + 1, (160,), generator=rng).tolist()
    lefts = torch.randint(192 - 32 + 1, (160,), generator=rng).tolist()
    crops = torch.stack([photo[:, top:top + 32, left:left + 32]
                         for top, left in zip(tops, lefts)])
    assert max(lefts) + 32 <= 192  # no crop reaches into the right part
    return crops, photo[None, :, :208, 192:]


crops, test = left_and_right("china.jpg")


def shrink(pictures):
    return F.avg_pool2d(pictures, 4)


def sky(pictures):
    return pictures[..., 16:64, 16:112]

# %% [markdown]
# All decoders get the same crops in the same order, as many updates, and the same learning rate and schedule; they differ in the layers, thereby in the number of parameters, and in the random start, where the last two use the draws of the second.
# The error is the root mean square of the difference from the test picture, also in grey levels.

# %%
device = d2l.try_device()


def restore(kind, seed, start=None, crops=crops):
    """Train a decoder; returns it and the sky's grid every 10 updates."""
    torch.manual_seed(seed)
    net = decoder(kind)
    if start is not None:
        start(net)
    strip = shrink(test[..., :80, :]).to(device)  # the sky and below
    trace, updates = [], itertools.count()

    @torch.no_grad()
    def after_step(net):
        for layer in net:
            if isinstance(layer, EqualSums):
                layer.project()
        if next(updates) % 10 == 0:
            trace.append(255 * grid_strength(sky(net(strip))))

    after_step(net.to(device))  # before the first update
    train_ch14(net, (shrink(crops), crops), None, F.mse_loss,
               torch.optim.Adam(net.parameters(), lr=1e-2), epochs, device,
               batch_size=16, score=None, after_step=after_step, seed=seed)
    return net, trace


def squared_error(y_hat, y):
    return (y_hat - y).square().mean((1, 2, 3))


runs = {kind: [restore(kind, seed) for seed in range(num_seeds)]
        for kind in kinds}

# %% tags=["rtol=0.5"]
pair = (shrink(test).to(device), test.to(device))
own = 255 * grid_strength(sky(test))
grids, errors = {}, {}
plain_error = 255 * squared_error(F.interpolate(
    pair[0], scale_factor=4, mode="bilinear"), pair[1]).sqrt().item()
print(f"the photograph: grid {own:.2f}; interpolation: error "
      f"{plain_error:.2f}")
for kind, trained in runs.items():
    grids[kind] = [trace[-1] for _, trace in trained]
    errors[kind] = [255 * evaluate(net, pair, squared_error)**0.5
                    for net, _ in trained]
    print(f"{kind:20s} grid", " ".join(f"{v:5.2f}" for v in grids[kind]),
          "  error", " ".join(f"{v:5.2f}" for v in errors[kind]))

# %% tags=["hide-input", "chaotic"]
updates = [10 * i for i in range(len(runs["k = 2"][0][1]))]
middle = [np.median([trace for _, trace in trained], axis=0)
          for trained in runs.values()]
ax = d2l.plot(updates, middle, list(runs), yscale="log", xlabel="updates",
              ylabel="grid (grey levels)",
              fmts=("-", "--", "-.", ":", "x-", "+--"))
ax.axhline(own, color="0.5", lw=1)
ax.text(updates[-1], own, "photograph", color="0.4", fontsize=9,
        ha="right", va="bottom")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
d2l.describe(ax, """Strength of the grid over the updates on a logarithmic
    axis. The decoders with kernels 2, 3 and 4 and with the shifted groups
    start at several grey levels, rise above ten and fall to a few; those
    with resize-convolution and with equal phase sums stay near the
    photograph's own value, below half a grey level.""")

# %% [markdown]
# **Figure 14.10.5.** The grid in the sky of the test picture while the decoders train, median of the seeds.
# Only the two decoders with equal phase sums, resize-convolution among them, stay near or below the line, which is the value of the photograph itself.

# %% tags=["hide-input", "chaotic"]
seen = {"photograph": pair[1], "interpolation": F.interpolate(
    pair[0], scale_factor=4, mode="bilinear")}
for kind, trained in runs.items():
    with torch.no_grad():
        seen[kind] = trained[-1][0].eval()(pair[0])
patches = [sky(picture)[0, :, :32, :32].cpu() for picture in seen.values()]
patches = [0.5 + 10 * (patch - patch.mean((1, 2), keepdim=True))
           for patch in patches]
titles = [name.replace(", ", ",\n") for name in seen]
axes = d2l.show_images([patch.clamp(0, 1) for patch in patches], 2, 4,
                       titles, scale=1.7)
d2l.describe(axes, """Eight patches of sky with strongly raised contrast. The
    photograph has faint blocks; interpolation, resize-convolution and equal
    phase sums show smooth shades; kernels 2, 3 and 4 and the shifted groups
    show a regular grid of pixels.""")

# %% [markdown]
# **Figure 14.10.6.** A patch of 32x32 pixels of the sky after training (the last of the seeds), its mean colour set to grey and its contrast around it raised tenfold in all eight pictures.

# %%
# check: only equal phase sums are clean, at every moment, at equal error
full_run = epochs >= 20 and num_seeds >= 3
gridded, clean = (*kinds[:3], kinds[5]), kinds[3:5]
mean = {kind: np.mean(values) for kind, values in grids.items()}
typical = {kind: np.mean(values) for kind, values in errors.items()}
for trained in runs.values():  # before the first update, then every tenth
    assert all(len(trace) == 1 + epochs for _, trace in trained)
    assert len({trace[0] for _, trace in trained}) == num_seeds
if full_run:
    assert max(max(grids[kind]) for kind in clean) < own
    low = np.min([trace for kind in gridded for _, trace in runs[kind]], 0)
    high = np.max([trace for kind in clean for _, trace in runs[kind]], 0)
    assert low[-1] > 5 * high[-1] and high.max() < 3 * own
    assert min(max(trace) for kind in gridded
               for _, trace in runs[kind]) > 20 * own
    free, tied, control = (typical[kinds[i]] for i in (1, 4, 5))
    assert abs(free - tied) < 1 and control > max(free, tied)
    if epochs == 20:
        assert (low > 5 * high).all() and control - max(free, tied) > 1
        assert min(typical.values()) > plain_error
        assert np.ptp([mean[kind] for kind in kinds[:3]]) < min(
            np.ptp(grids[kind]) for kind in kinds[:3])
    else:
        assert max(abs(typical[kind] - plain_error)
                   for kind in kinds[:5]) < 1

# %% [markdown]
# All three plain kernels leave a grid, more than five times as strong as that of the two decoders with equal phase sums, and so it was at every moment of Figure 14.10.5.
# Even coverage is no cure: the mean grids for $k=2$, 3 and 4 differ by less than the runs of any one of these kernels do from seed to seed.
# The last two decoders isolate the cause.
# They have the layers, the number of parameters, the random draws, the crops and the uneven coverage of $k=3$; only a constraint was added.
# Where it makes the phase sums equal, the grid in the sky is gone, and the error over the test picture is about the same.
# Where it makes as many other sums equal, the grid stays, and the error is larger.
#
# This is a small experiment, stopped early: after these few updates none of the six, averaged over its seeds, restores the picture better than bilinear interpolation.
# With four times as many (`epochs = 80`, as in the GPU setting) the errors of all but the control, averaged over the seeds, come within one grey level of that of interpolation, and the grids are still there, more than five times as strong at the end as with equal phase sums.
# Odena, Dumoulin and Olah (2016) described such grids in adversarial networks and style transfer.
# They named uneven overlap as a cause, noted that kernels with even overlap often learn a grid as well, a milder one as it seemed to them, and recommended resize-convolution.
# Equal phase sums guarantee clean flat areas only; next to edges and in textures they promise nothing.
#
# Today both families are in use.
# The decoder of latent diffusion models (Rombach et al., 2022) repeats pixels and convolves; the mask decoder of Segment Anything (Kirillov et al., 2023) has two transposed convolutions with $k=s=2$.
# [Section 14.11](11-fcn.ipynb) starts its kernels at the weights of bilinear interpolation, which have equal phase sums.

# %% [markdown]
# ## Summary
#
# - Each input of a transposed convolution writes a copy of the kernel, scaled by itself; stride spaces the copies, padding cuts the output.
# - The size is $(n-1)s-2p+k+o$. With the hyperparameters of a convolution it restores $n$ only if $s$ divides $n+2p-k$; otherwise $o$ has to be the remainder.
# - As a matrix it is $\mathbf{W}^\top$: the backward pass, to the input, of the convolution with the same weight, not its inverse.
# - A constant stays constant away from the border if and only if the kernel's phase sums are equal. Even coverage, $s$ dividing $k$, is neither necessary nor sufficient.
# - Resize-convolution is a transposed convolution whose phase sums are equal by construction, pixel shuffle one with a one-hot kernel.
# - In our small decoders, training alone left a grid with $k=2$, 3 and 4; equal phase sums removed it from a flat area at about the same error, the same constraint on shifted groups did not.

# %% [markdown]
# ## Exercises
#
# ### Exercise 14.10-1
#
# A convolution with $k=5$, $p=2$ and $s=3$ is followed by a transposed one with the same values.
# Which `output_padding` restores $n=17,18,19$ and 20?
# Does the convolution leave entries of these inputs unread, and would it without padding?

# %% [markdown]
# #### Solution 14.10-1

# %% [markdown]
# The remainder of $n+2p-k=n-1$ divided by 3: 1, 2, 0, 1.
# The windows of the convolution stop $r$ entries before the end of the padded input.
# With $p=2$ these $r\le2$ entries are padding, so every entry of the input is read; with $p=0$ the last $r$ entries, for the remainder $r$ that then results, are not.

# %%
found = []
for n in range(17, 21):
    m, r = conv_out(n, 5, 2, 3), (n + 2 * 2 - 5) % 3
    assert tconv_out(m, 5, 2, 3, output_padding=r) == n
    found.append(r)
    for p in (0, 2):
        left = (n + 2 * p - 5) % 3
        x = torch.zeros(1, n, requires_grad=True)
        F.conv1d(x, torch.ones(1, 1, 5), stride=3, padding=p).sum().backward()
        unread = (x.grad == 0).sum().item()
        assert unread == (left if p == 0 else 0)
print("output_padding:", found)
assert found == [1, 2, 0, 1]

# %% [markdown]
# ### Exercise 14.10-2
#
# An $n\times n$ input is convolved with a $k\times k$ kernel without zeros, at stride 1 and without padding, to $m\times m$ outputs: how many entries of $\mathbf{W}$ are not zero, and which share is that?
# Compare the multiplications of the dense product $\mathbf{W}^\top\mathbf{y}$ with those that are needed, and time the loops, the matrix and PyTorch's layer.

# %% [markdown]
# #### Solution 14.10-2

# %% [markdown]
# Each of the $m^2$ rows holds the $k^2$ weights (padding takes some away): $m^2k^2$ of $m^2n^2$ entries, the share $k^2/n^2$.
# The dense product multiplies $m^2n^2$ times, the other two $m^2k^2$ times, which `count_macs` of [Section 7.4](../07-convolutional-neural-networks/04-channels.ipynb) counts, too.
# The times belong to the machine that ran this.

# %% tags=["timing"]
n, k = 32, 3
kernel = torch.rand(k, k, generator=torch.Generator().manual_seed(2)) + 0.1
W = kernel2matrix(kernel, n)  # (900, 1024)
m = conv_out(n, k)
layer = nn.ConvTranspose2d(1, 1, k, bias=False)
with torch.no_grad():
    layer.weight.copy_(kernel)
needed = sum(count_macs(layer, (1, 1, m, m)).values())
print(f"needed {needed:,}, dense {W.numel():,}: {needed / W.numel():.4f}")
assert W.count_nonzero() == needed == m**2 * k**2
assert needed / W.numel() == k**2 / n**2
Y = torch.rand(m, m)
ways = {"loops": lambda: trans_conv(Y, kernel),
        "matrix": lambda: (W.T @ Y.flatten()).reshape(n, n),
        "PyTorch": lambda: layer(Y[None, None]).detach()[0, 0]}
for name, way in ways.items():
    torch.testing.assert_close(way(), ways["loops"]())
    seconds = min(timeit.repeat(way, number=1, repeat=5))
    print(f"{name:8s}{1e3 * seconds:8.2f} ms")

# %% [markdown]
# ### Exercise 14.10-3
#
# Show that the coefficients of a product of two polynomials are a transposed convolution in one dimension.
# Which polynomial does stride $s$ take in place of the first factor?

# %% [markdown]
# #### Solution 14.10-3

# %% [markdown]
# In $\left(\sum_ix_iz^i\right)\left(\sum_aK_az^a\right)$ the coefficient of $z^u$ is $\sum_{i+a=u}x_iK_a$, which is (14.10.1) along one axis with $s=1$.
# Stride $s$ asks for $is+a=u$, so the first factor becomes $\sum_ix_iz^{is}$, the same polynomial in $z^s$.

# %%
x, kernel = torch.tensor([3.0, -1, 2, 5]), torch.tensor([1.0, 4, -2])
for s in (1, 2, 3):
    spread = torch.zeros((len(x) - 1) * s + 1)
    spread[::s] = x  # the polynomial in z^s
    product = np.convolve(spread.numpy(), kernel.numpy())
    up = F.conv_transpose1d(x[None], kernel[None, None], stride=s)[0]
    assert up.tolist() == product.tolist()

# %% [markdown]
# ### Exercise 14.10-4
#
# Exercise 7.3-5 wrote a transposed convolution with one channel as an ordinary one on an input with zeros between its entries.
# Do it for several channels, with stride 2 or 3 and $p=0,1,2$.
# What share of the multiplications meets inserted zeros?

# %% [markdown]
# #### Solution 14.10-4

# %% [markdown]
# Insert $s-1$ zeros between neighbours, pad by $k-1-p$, and convolve with stride 1; the kernel is flipped on both axes, because an output that reads meets it in reverse order, and its channel axes are swapped.
# Far from the border only one of $s^2$ entries is not an inserted zero, so the share is $1-1/s^2$ on average over the outputs, and at each single output if $s$ divides $k$.

# %%
rng = torch.Generator().manual_seed(8)
for s, p, k in itertools.product((2, 3), (0, 1, 2), (3, 4)):
    Z = torch.randn(2, 3, 5, 6, generator=rng, dtype=f64)
    weight = torch.randn(3, 4, k, k, generator=rng, dtype=f64)
    spread = Z.new_zeros(2, 3, 4 * s + 1, 5 * s + 1)
    spread[..., ::s, ::s] = Z
    read = F.conv2d(spread, weight.flip(2, 3).transpose(0, 1),
                    padding=k - 1 - p)
    torch.testing.assert_close(
        read, F.conv_transpose2d(Z, weight, stride=s, padding=p))
    met = F.conv2d((spread[:1, :1] != 0).to(f64), torch.ones(
        1, 1, k, k, dtype=f64))[..., :s, :s]  # entries met, s x s windows
    torch.testing.assert_close(met.mean() / k**2, met.new_tensor(1 / s**2))

# %% [markdown]
# ### Exercise 14.10-5
#
# Does a clean start suffice?
# Use `smear` to start the decoder with $k=4$ as the same function as a decoder with resize-convolutions and random weights, and train it freely.
# Aitken et al. (2017) propose such a start for pixel shuffle and show that it is free of the grid at initialization.

# %% [markdown]
# #### Solution 14.10-5

# %% [markdown]
# At the start the grid is absent.
# During training it comes in, and at the end it is several times as strong as with resize-convolutions.
# Its mean over the seeds is below that of $k=4$ from a random start, but the runs of the two overlap, so three seeds do not show that the start helps.
# In this setting the constraint keeps the sky clean, the start alone does not.

# %% tags=["rtol=0.5"]
@torch.no_grad()
def start_as_resize(net):
    like = decoder("resize").to(net[0].weight.device)
    net[0].load_state_dict(like[0].state_dict())
    for i in (2, 4):
        net[i].weight.copy_(smear(like[i][1].weight))
        net[i].bias.copy_(like[i][1].bias)
    small = pair[0][..., :6, :7].to(net[0].weight.device)
    torch.testing.assert_close(net(small), like(small))


traces = [restore("k = 4", seed, start_as_resize)[1]
          for seed in range(num_seeds)]
for trace in traces:
    print(f"grid at the start {trace[0]:.2f}, at most {max(trace):.2f}, "
          f"at the end {trace[-1]:.2f}")
if full_run:
    ends = [trace[-1] for trace in traces]
    assert max(trace[0] for trace in traces) < own < min(ends)
    assert np.mean(ends) > 4 * mean["resize"]
    assert np.mean(ends) < mean["k = 4"]

# %% [markdown]
# ### Exercise 14.10-6
#
# Does the result depend on the photograph, or on $k=3$?
# Learn from the left part of `flower.jpg` instead, and compare the grids that $k=4$ with free and with equal phase sums leaves in the sky.

# %% [markdown]
# #### Solution 14.10-6

# %% [markdown]
# In every run the free kernels leave a grid several times as strong as the tied ones, though the coverage of $k=4$ is even.
# So the difference between free and tied kernels is there with another photograph and another kernel; the task and the sky are still the same.
# The control with shifted groups has no counterpart here: for $k=4$, moving the kernel by a row and a column, wrapped around, only exchanges the groups with each other.

# %% tags=["rtol=0.5"]
flower, _ = left_and_right("flower.jpg")
last = {kind: [restore(kind, seed, crops=flower)[1][-1]
               for seed in range(num_seeds)]
        for kind in ("k = 4", "k = 4, equal sums")}
for kind, ends in last.items():
    print(f"{kind:18s}", " ".join(f"{end:.2f}" for end in ends))
if full_run:
    assert min(last["k = 4"]) > 3 * max(last["k = 4, equal sums"])

# %% [markdown]
# ## Sources
#
# - V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, 2016, [arXiv:1603.07285](https://arxiv.org/abs/1603.07285): sizes, the matrix, and the transposed layer.
# - A. Odena, V. Dumoulin and C. Olah, Deconvolution and checkerboard artifacts, Distill, 2016, [doi:10.23915/distill.00003](https://doi.org/10.23915/distill.00003): overlap, learned kernels, resize-convolution.
# - Y. Sugawara, S. Shiota and H. Kiya, Checkerboard artifacts free convolutional neural networks, APSIPA Transactions on Signal and Information Processing 8, 2019, [doi:10.1017/ATSIP.2019.2](https://doi.org/10.1017/ATSIP.2019.2): the condition on filters, extended to networks.
# - W. Shi et al., Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network, 2016, [arXiv:1609.05158](https://arxiv.org/abs/1609.05158): pixel shuffle.
# - W. Shi et al., Is the deconvolution layer the same as a convolutional layer?, 2016, [arXiv:1609.07009](https://arxiv.org/abs/1609.07009): transposed convolution and pixel shuffle compared.
# - A. Aitken et al., Checkerboard artifact free sub-pixel convolution, 2017, [arXiv:1707.02937](https://arxiv.org/abs/1707.02937): the start of Exercise 5.
# - R. Rombach et al., High-resolution image synthesis with latent diffusion models, 2022, [arXiv:2112.10752](https://arxiv.org/abs/2112.10752): its published code has the decoder.
# - A. Kirillov et al., Segment anything, 2023, [arXiv:2304.02643](https://arxiv.org/abs/2304.02643): its published code has the mask decoder.
# - PyTorch documentation, [torch.nn.ConvTranspose2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html): the formula for all shapes, and `output_padding`.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the small examples by hand.
