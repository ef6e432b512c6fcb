# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
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
# # 7.2 Convolutions for images
#
# [Section 7.1](01-from-dense-to-convolution.ipynb) derived a layer that looks at every place of an image with the same small set of weights.
# Here we compute it, first by hand and then in a few lines of code, and let it learn its weights from examples.
# The learning problem is so small that we can predict its loss at every step, and the layer so regular that we can say exactly which pixels an output sees.
#
# **You will**
#
# - compute a two-dimensional cross-correlation by hand and in code, and tell it from a convolution;
# - learn a kernel by gradient descent, and predict the speed and the limit of the learning rate;
# - compute the receptive field of any stack of layers, and check it with gradients;
# - design kernels that blur, sharpen and differentiate.
#
# **Cost**: half a minute on a CPU, no use of a GPU; Fashion-MNIST (31 MB) for one picture, shared with [Section 4.2](../04-linear-classification/02-image-classification-dataset.ipynb).

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST
from d2l_helpers.chapters.linear_regression import Timer

d2l.use_style()
f64 = torch.float64

# %% [markdown]
# ## The cross-correlation operation
#
# Take a grid of numbers, the *input*, and a smaller grid, the *kernel* (also: *filter*).
# Lay the kernel over the upper left corner of the input.
# Multiply each pair of numbers that lie on each other, and add the products: this sum is one number of the output.
# Then slide the window one column to the right, and at the end of a row go down one row and start again at the left.
#
# ![Four panels, one for each position of a 2 by 2 window on a 3 by 3 input with the numbers 0 to 8. The kernel holds 0, 1, 2, 3. The outputs 19, 25, 37 and 43 appear one after the other, each with its sum of four products.](img/corr-steps.svg)
#
# **Figure 7.2.1.** All four positions of a $2\times2$ window on a $3\times3$ input, in the order in which they are visited.
#
# As a formula, this *cross-correlation* is
#
# $$[\mathbf{Y}]_{i,j} = \sum_{a=0}^{k_h-1}\sum_{b=0}^{k_w-1}[\mathbf{K}]_{a,b}\,[\mathbf{X}]_{i+a,j+b}, \tag{7.2.1}$$
#
# where $\mathbf{X}\in\mathbb{R}^{n_h\times n_w}$ is the input, $\mathbf{K}\in\mathbb{R}^{k_h\times k_w}$ the kernel, $(i,j)$ the position in the output $\mathbf{Y}$, and $(a,b)$ the offset inside the window.
# We write $\mathbf{Y}=\mathbf{X}\star\mathbf{K}$ for short.
# The first entry in the figure is $0\cdot0+1\cdot1+3\cdot2+4\cdot3=19$.
#
# The window must lie inside the input, so its upper left corner has $n_h-k_h+1$ possible rows and $n_w-k_w+1$ possible columns:
#
# $$\mathbf{Y}\in\mathbb{R}^{(n_h-k_h+1)\times(n_w-k_w+1)}. \tag{7.2.2}$$
#
# The output is smaller than the input by $k_h-1$ rows and $k_w-1$ columns; [Section 7.3](03-padding-and-stride.ipynb) changes that.
#
# In code, (7.2.1) is two loops over positions.
# The result is allocated with `X.new_zeros`, which takes the device of `X`; its type is the one that the product of `X` and `K` has.
# A plain `torch.zeros` would put it on the CPU in single precision whatever comes in.

# %% tags=["export"]
def corr2d(X, K):
    """Cross-correlation of X (h, w) with a kernel K (kh, kw).

    Returns (h - kh + 1, w - kw + 1), on the device of X and with the dtype
    of X * K. A `ValueError` names shapes that do not fit.

    Example: corr2d(torch.ones(3, 3), torch.ones(2, 2)) is 4 everywhere.
    """
    if X.ndim != 2 or K.ndim != 2:
        raise ValueError(f"corr2d got shapes {tuple(X.shape)} and "
                         f"{tuple(K.shape)}; both must be matrices.")
    kh, kw = K.shape
    if not (1 <= kh <= X.shape[0] and 1 <= kw <= X.shape[1]):
        raise ValueError(f"a kernel of {kh} x {kw} does not fit into an "
                         f"input of {X.shape[0]} x {X.shape[1]}.")
    Y = X.new_zeros(X.shape[0] - kh + 1, X.shape[1] - kw + 1,
                    dtype=torch.result_type(X, K))
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i:i + kh, j:j + kw] * K).sum()
    return Y

# %% tags=["slide"]
X = torch.arange(9.0).reshape(3, 3)
K = torch.arange(4.0).reshape(2, 2)
print(corr2d(X, K))
for A, B in ((X[0], K), (K, X)):
    try:
        corr2d(A, B)
        raise AssertionError("a bad input was accepted")
    except ValueError as error:
        print(error)
assert corr2d(X, X) == (X * X).sum()  # a kernel of the size of the input
assert corr2d(X.int(), K / 2).tolist() == [[9.5, 12.5], [18.5, 21.5]]
assert corr2d(X, K.to(f64)).dtype == f64  # the type of X * K
assert corr2d(X.to("meta"), K.to("meta")).device.type == "meta"

# %%
# check 7.2-C1: the numbers of Figure 7.2.1, by hand and by the library
expected = torch.tensor([[19.0, 25], [37, 43]])
assert torch.equal(corr2d(X, K), expected)
library = F.conv2d(X[None, None], K[None, None])  # (1, 1, 2, 2)
torch.testing.assert_close(library[0, 0], expected)
flipped = corr2d(X, K.flip(0, 1))
assert torch.equal(flipped, torch.tensor([[5.0, 11], [23, 29]]))

# %% [markdown]
# Move the slider and watch the sum.
# The image is a bright square, and the kernel subtracts the column on the right of the window from the column on its left.

# %% tags=["hide-input"]
square = torch.zeros(6, 6)
square[1:5, 1:5] = 1
left_minus_right = torch.tensor([[1.0, 0, -1]]).expand(3, 3)
response = corr2d(square, left_minus_right)  # (4, 4)


def number_grid(ax, values, title, limit=3):
    """A matrix as coloured cells with a number in each; nan is empty."""
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            if not math.isnan(value):
                color = "white" if abs(value) > 0.6 * limit else "black"
                ax.text(j, i, f"{value:+.0f}" if value else "0",
                        ha="center", va="center", fontsize=8, color=color)
    ax.set_xticks(torch.arange(values.shape[1] + 1) - 0.5, labels=[])
    ax.set_yticks(torch.arange(values.shape[0] + 1) - 0.5, labels=[])
    ax.tick_params(length=0)
    ax.set_title(title, fontsize=9)


# %% tags=["hide-input"]
def draw(fig, position):
    i, j = divmod(int(position) - 1, 4)
    axes = fig.subplots(1, 4, width_ratios=[6, 3, 3, 4])
    window = square[i:i + 3, j:j + 3]
    products = window * left_minus_right
    done = torch.full((16,), math.nan)
    done[:int(position)] = response.reshape(-1)[:int(position)]
    number_grid(axes[0], square, "image and window")
    number_grid(axes[1], left_minus_right, "kernel")
    number_grid(axes[2], products, "products")
    axes[2].set_xlabel(f"sum = {products.sum().item():.0f}", fontsize=10)
    number_grid(axes[3], done.reshape(4, 4), "output")
    for ax, size, x, y in ((axes[0], 3, j, i), (axes[3], 1, j, i)):
        ax.add_patch(plt.Rectangle((x - 0.5, y - 0.5), size, size,
                                   fill=False, ec="#009E73", lw=3))


d2l.sliders(draw, """A 6 by 6 image of a bright square with a green 3 by 3
    window, the kernel, the nine products with their sum, and the 4 by 4
    output, filled up to the present position.""", figsize=(7.0, 2.3),
    position=list(range(1, 17)))

# %% [markdown]
# **Figure 7.2.2.** The window visits 16 positions; the output fills up in reading order.
# The sum is positive where the image is brighter on the left of the window, negative where it is brighter on the right, and 0 where both sides are equal.

# %% [markdown]
# The loops show what happens, but each of their steps is one small call of the library.
# `F.conv2d` does the same work in compiled code.
# The operation suits hardware because it is *local*: neighbouring outputs read nearly the same inputs, which can stay in fast memory, and all windows can be computed at the same time.
# With several channels the work even becomes a product of two large matrices, which hardware does best; [Section 7.4](04-channels.ipynb) shows how.

# %% tags=["timing"]
rng = torch.Generator().manual_seed(0)
picture = torch.rand(64, 64, generator=rng)
blur = torch.ones(3, 3) / 9
F.conv2d(picture[None, None], blur[None, None])  # the first call is slow
timer = Timer()
by_loops = corr2d(picture, blur)
loops = timer.stop()
timer.start()
by_library = F.conv2d(picture[None, None], blur[None, None])[0, 0]
library_time = timer.stop()
torch.testing.assert_close(by_loops, by_library)
assert by_library.std() > 0.05  # not two black pictures
print(f"loops {loops * 1e3:.1f} ms, library {library_time * 1e3:.3f} ms")

# %% [markdown]
# ## Convolutional layers
#
# A *convolutional layer* cross-correlates its input with a kernel and adds a scalar bias:
#
# $$\mathbf{H} = \mathbf{X}\star\mathbf{K}+b, \tag{7.2.3}$$
#
# with the kernel $\mathbf{K}\in\mathbb{R}^{k_h\times k_w}$ and the bias $b\in\mathbb{R}$ as its two parameters; $\mathbf{H}$ has the shape (7.2.2).
# Like the weights of a dense layer, the kernel starts at random and is learned.
# A layer with such a kernel is called a $k_h\times k_w$ convolution, height first.
# Despite the name it computes a cross-correlation; we will see why that does no harm.

# %% tags=["slide"]
class Conv2D(nn.Module):
    """One channel in, one channel out: input (h, w), see corr2d."""

    def __init__(self, kernel_size):
        super().__init__()
        bound = 1 / math.sqrt(math.prod(kernel_size))  # as in nn.Conv2d
        kernel = torch.empty(kernel_size).uniform_(-bound, bound)
        self.weight = nn.Parameter(kernel)  # (kh, kw)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, X):
        return corr2d(X, self.weight) + self.bias

# %% [markdown]
# The layer of PyTorch wants a batch of images with channels, shape $(n,c,h,w)$, and holds one kernel for each pair of output and input channel.
# With one image and one channel it is our layer.

# %%
torch.manual_seed(1)
own, ready = Conv2D((2, 3)), nn.Conv2d(1, 1, kernel_size=(2, 3))
with torch.no_grad():
    own.bias.fill_(0.5)  # 0 at the start, which would hide it
    ready.weight.copy_(own.weight)  # (1, 1, 2, 3) <- (2, 3)
    ready.bias.copy_(own.bias)
image = torch.randn(5, 6)
torch.testing.assert_close(own(image), ready(image[None, None])[0, 0])
print("output", tuple(own(image).shape), "- parameters:",
      sum(p.numel() for p in own.parameters()))
start = Conv2D((30, 30)).weight.std() / nn.Conv2d(1, 1, 30).weight.std()
assert abs(start - 1) < 0.1  # both kernels start with the same spread

# %% [markdown]
# ## Object edge detection in images
#
# An edge is a place where neighbouring pixels differ.
# So a kernel that subtracts neighbours finds edges: $\mathbf{K}=[1,-1]$ computes
#
# $$[\mathbf{Y}]_{i,j} = x_{i,j}-x_{i,j+1}, \tag{7.2.4}$$
#
# the difference of two *horizontal* neighbours, $x_{i,j}$ being the pixel in row $i$ and column $j$.
# (Some texts print $x_{i+1,j}$ here, which is the neighbour below.)
# It is a *finite difference*: up to its sign, it approximates the derivative in the horizontal direction.
#
# The test image has $6\times8$ pixels, white (1) with a black bar (0) in columns 2 to 5.

# %%
X = torch.ones(6, 8)
X[:, 2:6] = 0
K = torch.tensor([[1.0, -1.0]])  # (1, 2)
Y = corr2d(X, K)  # (6, 7)
print(Y[0].int().tolist())

# %%
# check 7.2-C2: 1 at white to black, -1 at black to white, otherwise 0
row = torch.tensor([0.0, 1, 0, 0, 0, -1, 0])
assert torch.equal(Y, row.expand(6, 7))
assert torch.equal(corr2d(X.mT, K), torch.zeros(8, 5))

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 4, figsize=(7.4, 2.2))
views = ((X, "image"), (Y, "response"), (X.mT, "transposed"),
         (corr2d(X.mT, K), "its response"))
for k, (ax, (values, name)) in enumerate(zip(axes, views)):
    cmap, low = (("RdBu_r", -1) if k % 2 else ("gray", -0.2))
    ax.imshow(values, cmap=cmap, vmin=low, vmax=1)
    ax.set(title=name, xticks=range(values.shape[1]),
           yticks=range(values.shape[0]))
    ax.tick_params(labelsize=7)
    ax.grid(False)
d2l.describe(axes, """A white image with a vertical black bar; its response
    is plus one along the left edge of the bar, minus one along the right
    edge and zero elsewhere. The transposed image has a horizontal bar, and
    its response is zero everywhere.""")

# %% [markdown]
# **Figure 7.2.3.** The response is 1 (red) in column 1, where white turns into black, and $-1$ (blue) in column 5, where black turns into white.
# On the transposed image the same kernel answers 0 everywhere: it sees vertical edges only.

# %% [markdown]
# ## Learning a kernel
#
# For edges between black and white we could guess the kernel.
# For the hundreds of patterns that tell a coat from a shirt we cannot, so the kernel has to come from data.
# As a test, give a layer the image $\mathbf{X}$ and the edge map $\mathbf{Y}$ and let it find the kernel that turns one into the other.
# The loss is the squared error, summed over all positions:
#
# $$L(\mathbf{K}) = \sum_{i,j}\left([\mathbf{X}\star\mathbf{K}]_{i,j}-[\mathbf{Y}]_{i,j}\right)^2. \tag{7.2.5}$$
#
# Here $\mathbf{K}\in\mathbb{R}^{1\times2}$ is unknown, $\mathbf{X}$ and $\mathbf{Y}$ are given, and $L$ is a number.
# We leave out the bias and take ten steps of gradient descent with the learning rate 0.03.

# %%
def learn_kernel(X, Y, shape, lr, steps, start=None, layer=corr2d):
    """Gradient descent on the squared error of layer(X, K) against Y.

    Returns the kernel after `steps` steps, and `steps + 1` losses, the
    first one before any step. Without `start` the kernel is random.
    """
    bound = 1 / math.sqrt(math.prod(shape))
    K = X.new_empty(shape).uniform_(-bound, bound)
    K = (K if start is None else start.clone()).requires_grad_()
    losses = []
    for step in range(steps + 1):
        loss = ((layer(X, K) - Y) ** 2).sum()
        losses.append(loss.item())
        if step < steps:
            grad, = torch.autograd.grad(loss, K)
            with torch.no_grad():
                K -= lr * grad
    return K.detach(), losses

# %% tags=["slide"]
torch.manual_seed(3)
K_hat, losses = learn_kernel(X, Y, (1, 2), lr=0.03, steps=10)
for step in range(0, 11, 2):
    print(f"step {step:2}: loss {losses[step]:.3f}")
print("kernel:", [round(k, 2) for k in K_hat[0].tolist()])

# %% [markdown]
# The loss falls by a factor that soon hardly changes, and the kernel approaches $[1,-1]$.
# How fast, and why 0.03?
# The output is linear in the kernel, so (7.2.5) is least squares, and everything that [Section 3.1](../03-linear-regression/01-linear-regression.ipynb) proved about it holds.
# Write each window as a row of a matrix $\mathbf{A}\in\mathbb{R}^{42\times2}$, one row for each position, and the kernel as a vector $\mathbf{k}\in\mathbb{R}^2$.
# Then $L=\|\mathbf{A}\mathbf{k}-\mathbf{y}\|^2$ with $\mathbf{y}\in\mathbb{R}^{42}$, and its second derivatives, the Hessian, are
#
# $$\mathbf{H}_L = 2\mathbf{A}^\top\mathbf{A} = \begin{pmatrix}36&24\\24&36\end{pmatrix},\qquad \lambda = 12 \text{ and } 60. \tag{7.2.6}$$
#
# The entries only count pixels: each of the two columns of $\mathbf{A}$ holds 18 white ones, and in 12 windows both pixels are white.
# The eigenvector of 60 is $(1,1)$, the sum of both weights; that of 12 is $(1,-1)$, their difference.
# A step with the learning rate $\eta$ multiplies the error along an eigenvector by $1-\eta\lambda$.

# %%
# check 7.2-C3: the Hessian of (7.2.6) and the solution of least squares
A = F.unfold(X[None, None].to(f64), (1, 2))[0].mT  # (42, 2)
y = Y.to(f64).reshape(-1, 1)  # (42, 1)
H = 2 * A.mT @ A
assert torch.equal(H, torch.tensor([[36.0, 24], [24, 36]], dtype=f64))
eigenvalues = torch.linalg.eigvalsh(H)
torch.testing.assert_close(eigenvalues, torch.tensor([12, 60], dtype=f64))
k_star = torch.linalg.lstsq(A, y).solution  # (2, 1)
torch.testing.assert_close(k_star, torch.tensor([[1.0], [-1]], dtype=f64))

# %% [markdown]
# With $\eta=0.03$ the factors are $1-0.03\cdot12=0.64$ and $1-0.03\cdot60=-0.8$: both errors shrink, the second one with alternating sign.
# The loss is quadratic in the error, so its parts shrink by the factors $0.64^2$ and $0.8^2$ per step.
# Above $\eta=2/60=1/30$ the second factor is below $-1$, and an error with any part along $(1,1)$ grows: 0.03 is close to the limit.
# The best rate makes both factors equally large, $1-12\eta=60\eta-1$, so $\eta=1/36$ with the factor $2/3$.
#
# From the kernel $[0,0]$ the error is $(-1,1)$, which lies along the eigenvector of 12 alone, and the loss is exactly $12\cdot0.4096^t$ after $t$ steps.
# To try many random starts at once, we treat 200 kernels as 200 output channels of one layer; their losses do not touch each other.

# %%
def many_starts(lr, steps, starts=200, seed=0):
    """Final losses (starts,) of kernels learned side by side."""
    rng = torch.Generator().manual_seed(seed)
    K = torch.rand(starts, 1, 1, 2, generator=rng, dtype=f64) * 2 - 1
    K = (K / math.sqrt(2)).requires_grad_()
    image, target = X[None, None].to(f64), Y.to(f64)
    for _ in range(steps):
        loss = ((F.conv2d(image, K) - target) ** 2).sum()
        K = (K - lr * torch.autograd.grad(loss, K)[0]).detach()
        K.requires_grad_()
    errors = F.conv2d(image, K.detach())[0] - target  # (200, 6, 7)
    return (errors ** 2).sum(dim=(1, 2))

# %%
# check 7.2-C4: exact losses, all starts succeed, and the limit 1/30
zero = torch.zeros(1, 2, dtype=f64)
_, path = learn_kernel(X.to(f64), Y.to(f64), (1, 2), 0.03, 10, start=zero)
exact = [12 * 0.4096**t for t in range(11)]
torch.testing.assert_close(torch.tensor(path), torch.tensor(exact))
before = many_starts(0.03, 0)  # 200 different starts, near and far
assert before.unique().numel() == 200 and before.min() < 5 < before.max()
ten = many_starts(0.03, 10)
print(f"worst of 200 starts after 10 steps: {ten.max().item():.2f}")
assert ten.max() < 0.6
assert many_starts(0.033, 1000).max() < 1e-6  # 60 * 0.033 < 2
assert many_starts(0.034, 300).min() > 1  # 60 * 0.034 > 2

# %% tags=["hide-input"]
rates = {"0.01": 0.01, "1/36": 1 / 36, "0.03": 0.03, "0.034": 0.034}
start = torch.tensor([[0.6, 0.3]], dtype=f64)
steps = torch.arange(31)
_, ax = plt.subplots(figsize=(5.6, 3.2))
for k, (name, lr) in enumerate(rates.items()):
    _, path = learn_kernel(X.to(f64), Y.to(f64), (1, 2), lr, 30, start)
    factor = max(abs(1 - 12 * lr), abs(1 - 60 * lr)) ** 2
    ax.semilogy(steps, path, "osD^"[k], ms=4, color=f"C{k}",
                label=f"lr = {name}, factor {factor:.2f}")
    ax.semilogy(steps, path[-1] * factor ** (steps - 30), "-", lw=1,
                color=f"C{k}")
    assert abs(path[30] / path[29] - factor) < 0.01  # the slope
    assert start.tolist() == [[0.6, 0.3]]  # the caller's, unchanged
ax.set(xlabel="step", ylabel="loss", ylim=(1e-10, 1e3))
ax.legend(loc="lower left", fontsize=8)
d2l.describe(ax, """Loss against step on a logarithmic axis for four
    learning rates. Each falls along a straight line of the predicted
    slope, steepest for 1/36; for 0.034 the loss grows.""")

# %% [markdown]
# **Figure 7.2.4.** Measured losses (markers) and the predicted factor for each step (lines, drawn through the last point).
# The rate 0.03 is a little slower than the best, $1/36$; a rate above $1/30$ diverges.

# %% [markdown]
# Every image and kernel shape has such a matrix $2\mathbf{A}^\top\mathbf{A}$.
# Its entries are sums of products of pixels a fixed offset apart, so it says how alike neighbours are.
# In the garments of Fashion-MNIST they are alike: the eigenvalues lie much further apart than for noise, and plain gradient descent is slower.

# %%
data = FashionMNIST(train_size=64, val_size=64)
garment = data.X_val[7, 0].to(f64)  # (28, 28)
rng = torch.Generator().manual_seed(4)
static = torch.randn(28, 28, generator=rng, dtype=f64)


def condition(image):
    """Largest over smallest eigenvalue for 3x3 windows of (28, 28)."""
    windows = F.unfold(image[None, None].to(f64), 3)[0].mT  # (676, 9)
    return torch.linalg.cond(windows.mT @ windows).item()


garments = sorted(condition(image) for image in data.X_val[:, 0])
print(f"noise {condition(static):.0f}, this garment {condition(garment):.0f}"
      f", median of {len(garments)} garments {garments[32]:.0f}")
if data.source == "real":
    assert garments[0] > 5 * condition(static)  # even the mildest
    assert garments[32] > 30 * condition(static)

# %% [markdown]
# ## Cross-correlation and convolution
#
# In one dimension, with a signal $f$ and a kernel $g$, the two operations are
#
# $$(f\star g)(t)=\sum_x g(x)\,f(t+x),\qquad (f*g)(t)=\sum_x g(x)\,f(t-x), \tag{7.2.7}$$
#
# where $t$ is the position in the output and $x$ runs over all integers; both sequences are zero outside their range.
# The left formula is (7.2.1) with $t$ for $(i,j)$ and $x$ for $(a,b)$: the kernel keeps its place and the signal is shifted.
# (Texts on signal processing often write $f\star g$ for the sum with $f$ in place and $g$ shifted, which is our $g\star f$, the same sequence read backwards.)
# The right formula differs from the left one only in the sign of $x$, which flips the kernel.
# Convolution is symmetric, $f*g=g*f$, as one sees by substituting $t-x$ for $x$; cross-correlation is not.

# %%
def correlate1d(f, g):
    """(7.2.7), left, where the kernel g lies inside the signal f."""
    positions = range(len(f) - len(g) + 1)
    return torch.stack([sum(g[x] * f[t + x] for x in range(len(g)))
                        for t in positions])


f1, g1 = torch.tensor([1.0, 2, 4, 8, 16]), torch.tensor([1.0, 0, -1])
print("f star g:", correlate1d(f1, g1).tolist())
assert torch.equal(correlate1d(f1, g1), corr2d(f1[None], g1[None])[0])
full = F.pad(f1, (2, 2)), F.pad(g1, (4, 4))  # every overlap
assert torch.equal(correlate1d(full[1], f1),  # g star f is f star g,
                   correlate1d(full[0], g1).flip(0))  # read backwards
strict = [correlate1d(full[0], g1.flip(0)), correlate1d(full[1], f1.flip(0))]
assert torch.equal(*strict)  # f * g = g * f

# %% [markdown]
# In two dimensions a strict convolution therefore flips the kernel along both axes and then cross-correlates.
# An *impulse*, an image with a single 1, makes the difference visible.

# %%
def convolve2d(X, K):
    """Strict convolution where the window fits, shapes as in corr2d."""
    return corr2d(X, K.flip(0, 1))


letter = torch.tensor([[1.0, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0],
                       [1, 0, 0]])  # (5, 3)
letter = F.pad(letter, (1, 1, 1, 1))  # (7, 5), with a black frame
impulse = torch.zeros(13, 9)
impulse[6, 4] = 1
correlated, convolved = (op(impulse, letter) for op in (corr2d, convolve2d))
assert torch.equal(correlated, letter.flip(0, 1))
assert torch.equal(convolved, letter)

# %%
axes = d2l.show_images([letter, impulse, correlated, convolved], 1, 4, [
    "kernel", "impulse", "cross-correlation", "convolution"], scale=1.6)
d2l.describe(axes, """A kernel in the form of the letter F, an image with a
    single bright pixel, the cross-correlation, which is the letter turned
    by 180 degrees, and the convolution, which is the upright letter.""")

# %% [markdown]
# **Figure 7.2.5.** Convolution copies the kernel to every bright pixel; cross-correlation copies it turned by 180 degrees.

# %% [markdown]
# For a layer that *learns* its kernel the difference does not matter.
# Let the targets be made by cross-correlation with $\mathbf{K}$, and train a layer that convolves strictly: it learns $\mathbf{K}$ flipped, and its outputs are the same.
# So frameworks cross-correlate and call it convolution, and so do we from now on.
# An entry of a kernel, or of any tensor, we call an *element*.

# %%
# check 7.2-C5: strict convolution learns the flipped kernel
torch.manual_seed(5)
image, K3 = torch.randn(10, 10), torch.randn(3, 3)
target = corr2d(image, K3)  # (8, 8)
K_strict, losses = learn_kernel(image, target, (3, 3), 0.004, 150,
                                layer=convolve2d)
assert (K_strict - K3.flip(0, 1)).abs().max() < 1e-3
assert (K_strict - K3).abs().max() > 0.1  # not the kernel itself
torch.testing.assert_close(convolve2d(image, K_strict), target,
                           rtol=0, atol=1e-2)

# %% [markdown]
# ## Feature map and receptive field
#
# The output of a convolutional layer is called a *feature map*: at each position it says how strongly a learned feature is present there, and the next layer takes it as its input image.
# The *receptive field* of an element is the set of all elements of earlier layers that can influence it, usually counted in pixels of the input.
# One $2\times2$ convolution has a receptive field of $2\times2$.
# A second one on top sees a $2\times2$ block of outputs whose fields overlap, together $3\times3$.
# In this way depth lets small kernels see far.
#
# ![Side view of three layers with three taps each. With stride 1 one element of layer 3 sees 3 elements of layer 2, 5 of layer 1 and 7 inputs. With stride 2 it sees 3, 7 and 15.](img/corr-receptive-field.svg)
#
# **Figure 7.2.6.** One row through three layers of width 3.
# With stride 1 each layer adds two inputs; when windows move by two places instead (*stride* 2, [Section 7.3](03-padding-and-stride.ipynb)), each layer more than doubles the field.
#
# Let layer $\ell$ have a window of size $k_\ell$ that moves by $s_\ell$ elements.
# Let $j_\ell$, the *jump*, be the distance in input pixels between neighbouring elements of layer $\ell$.
# A window of $k_\ell$ elements spans $k_\ell-1$ jumps of the layer below, so
#
# $$r_\ell=r_{\ell-1}+(k_\ell-1)\,j_{\ell-1},\qquad j_\ell=j_{\ell-1}s_\ell,\qquad r_0=j_0=1, \tag{7.2.8}$$
#
# where $r_\ell$ is the side of the receptive field in input pixels; height and width are computed separately.
# For two $2\times2$ layers $r_1=1+1=2$ and $r_2=2+1=3$.
# Padding ([Section 7.3](03-padding-and-stride.ipynb)) does not change the size, only where the field begins; near the border a part of it, and in deep networks most of it, lies outside the image.

# %% tags=["export"]
def receptive_field(layers):
    """Receptive field of one output of a stack of layers.

    `layers` lists (kernel, stride, padding) from input to output; returns
    (size, jump, start): the number of inputs seen, the distance between
    the fields of neighbouring outputs, and the index of the first input
    that output 0 sees (negative where it begins in the padding).

    Example: two 3x3 layers, receptive_field([(3, 1, 0)] * 2), see 5 inputs.
    """
    size, jump, start = 1, 1, 0
    for layer in layers:
        k, s, p = layer
        if k < 1 or s < 1 or p < 0:
            raise ValueError(f"layer {layer} is not (kernel >= 1, "
                             "stride >= 1, padding >= 0).")
        size += (k - 1) * jump
        start -= p * jump
        jump *= s
    return size, jump, start

# %% [markdown]
# The formula can be misapplied; gradients can tell.
# An output that depends on a pixel has a nonzero derivative with respect to it, apart from coincidences.
# So we differentiate one output, add up the absolute values over a batch of random images, and look where the sum is not zero.

# %%
def receptive_field_by_grad(net, input_shape, position):
    """First and last input (row, column) that an output depends on.

    `input_shape` is (n, c, h, w); `position` = (i, j) in the last map.
    """
    X = torch.randn(input_shape, dtype=f64, requires_grad=True)
    i, j = position
    net(X)[:, :, i, j].sum().backward()
    seen = X.grad.abs().sum(dim=(0, 1)).nonzero()  # (pixels seen, 2)
    return tuple(seen.amin(0).tolist()), tuple(seen.amax(0).tolist())

# %% [markdown]
# The test is the body of LeNet, which [Section 7.6](06-lenet.ipynb) trains: two $5\times5$ convolutions, the first with padding 2, each followed by pooling, an average over $2\times2$ windows with stride 2.
# Its maps have $5\times5$ elements, and we look at the one in the middle and at two corners.

# %%
torch.manual_seed(6)
body = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
    nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2)).to(f64)
layers = [(5, 1, 2), (2, 2, 0), (5, 1, 0), (2, 2, 0)]
size, jump, start = receptive_field(layers)
for place in ((2, 2), (0, 0), (4, 4)):
    first, last = receptive_field_by_grad(body, (4, 1, 28, 28), place)
    begin = start + jump * place[0]
    print(f"output {place}: formula {begin} to {begin + size - 1}, "
          f"gradients {first[0]} to {last[0]}")

# %%
# check 7.2-C6: known sizes, and the formula against the gradients
for bad in ((0, 1, 0), (3, 0, 0), (3, 1, -1)):
    try:
        receptive_field([(3, 1, 1), bad])
        raise AssertionError(f"{bad} was accepted")
    except ValueError as error:
        assert str(bad) in str(error)
assert receptive_field([(2, 1, 0)] * 2)[0] == 3
assert receptive_field([(3, 1, 0)] * 2)[0] == 5
assert receptive_field([(3, 1, 0)] * 3)[0] == 7
assert (size, jump) == (16, 4)
for place in [(i, j) for i in range(5) for j in range(5)]:
    seen = receptive_field_by_grad(body, (4, 1, 28, 28), place)
    for axis in (0, 1):
        begin = start + jump * place[axis]
        assert seen[0][axis] == max(begin, 0)
        assert seen[1][axis] == min(begin + size - 1, 27)

# %% [markdown]
# ### Not all pixels count equally
#
# The receptive field says which pixels *can* matter, not how much they do.
# A pixel in the middle reaches the output on many paths, one at the rim on few.
# Take $n$ layers in one dimension, each the mean of three neighbours.
# The derivative of an output with respect to the inputs is the kernel $(\frac13,\frac13,\frac13)$ convolved with itself $n$ times, that is, the distribution of a sum of $n$ independent steps of $-1$, 0 or 1.
# One step has the variance $\frac23$, so
#
# $$\text{support}=2n+1,\qquad \text{variance}=\tfrac23n, \tag{7.2.9}$$
#
# and by the central limit theorem the profile approaches a bell curve.
# The field grows like $n$, the part that matters like $\sqrt n$.

# %%
def gradient_profile(n):
    """Derivative of the middle output of n means of three, (2n + 3,)."""
    x = torch.zeros(1, 1, 2 * n + 3, dtype=f64, requires_grad=True)
    mean3, h = torch.full((1, 1, 3), 1 / 3, dtype=f64), x
    for _ in range(n):
        h = F.conv1d(h, mean3, padding=1)
    h[0, 0, n + 1].backward()
    return x.grad[0, 0]


def spread(profile):
    """Support and variance of a symmetric, nonnegative profile."""
    t = torch.arange(len(profile)) - len(profile) // 2
    weights = profile / profile.sum()
    return (profile > 0).sum().item(), (weights * t**2).sum().item()

# %%
# check 7.2-C7: support 2n + 1 and variance 2n/3
for n in (1, 2, 5, 10, 40):
    support, variance = spread(gradient_profile(n))
    assert support == 2 * n + 1
    assert abs(variance - 2 * n / 3) < 1e-9
support, variance = spread(gradient_profile(10))
assert support == 21 and round(variance, 3) == 6.667

# %% [markdown]
# Real kernels are not means, but for random kernels with mean zero the *squares* of the derivatives spread much the same way.
# We average them over five random networks of three and of ten $3\times3$ layers with ReLU.

# %%
def squared_gradients(n, channels=8, nets=5, batch=16):
    """Mean squared derivative of the middle output, (2n + 3, 2n + 3)."""
    total = 0
    for seed in range(nets):
        torch.manual_seed(seed)
        x = torch.randn(batch, 1, 2 * n + 3, 2 * n + 3, requires_grad=True)
        h = x
        for layer in range(n):
            c = h.shape[1]
            W = torch.randn(channels, c, 3, 3) * math.sqrt(2 / (9 * c))
            h = F.relu(F.conv2d(h, W, padding=1))
        h[:, :, n + 1, n + 1].sum().backward()
        total = total + (x.grad**2).mean(dim=(0, 1))
    return total.to(f64) / nets


for n in (3, 10):
    blob = squared_gradients(n)  # (2n + 3, 2n + 3), at last (23, 23)
    _, across = spread(blob.sum(dim=0))
    print(f"random ReLU networks, n = {n}: variance {across:.1f} "
          f"instead of {2 * n / 3:.1f}")
    assert abs(across / (2 * n / 3) - 1) < 0.2
    assert 1.5 < blob.sum() < 32  # 8 on average; without ReLU 8 * 2**n
assert not torch.equal(squared_gradients(1, nets=2),
                       squared_gradients(1, nets=1))

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 3, figsize=(8.4, 2.7))
for n, fmt in ((2, ":"), (10, "--"), (40, "-")):
    t = torch.arange(2 * n + 3) - (n + 1)
    axes[0].plot(t, gradient_profile(n), fmt, label=f"n = {n}")
axes[0].set(xlabel="offset in pixels", ylabel="derivative", xlim=(-42, 42))
axes[0].legend()
depth = torch.arange(1, 41)
axes[1].plot(depth, 2 * depth + 1, label="field, 2n + 1")
axes[1].plot(depth, 4 * (2 * depth / 3).sqrt(), "--",
             label="four std. deviations")
axes[1].set(xlabel="layers n", ylabel="width in pixels", ylim=(0, 110))
axes[1].legend(loc="upper left")
axes[2].imshow(blob, extent=(-11.5, 11.5, -11.5, 11.5))
axes[2].add_patch(plt.Rectangle((-10.5, -10.5), 21, 21, fill=False,
                                ec="white", ls="--"))
axes[2].set(title="squared derivative, n = 10", xlabel="offset in pixels")
axes[2].grid(False)
d2l.describe(axes, """Left: derivative against offset for 2, 10 and 40
    layers, bell curves that widen slowly. Middle: the receptive field grows
    linearly with depth, four standard deviations like a square root. Right:
    a bright blob in the middle of a dashed square, the theoretical
    field.""")

# %% [markdown]
# **Figure 7.2.7.** The effective receptive field is a blob inside the theoretical one (dashed), and with depth it falls further behind.
# Four standard deviations hold about 95 % of a bell curve.

# %% [markdown]
# These are networks before training; Luo and others (2016) found that training widens the blob.
# To relate distant pixels, stride, pooling, large kernels or attention (Chapter 11) do more than a few further small layers.
#
# The term comes from physiology, where Sherrington used it in 1906 for the skin and Hartline in 1938 for the retina.
# Hubel and Wiesel recorded from single cells in the visual cortex of cats and found that each responds only to a small region of the view, its receptive field, and there to edges of a certain orientation.
# Field (1987) showed that such filters are an economical code for natural images.
# Deeper layers can be compared too: Kuzovkin and others (2018) found that the features of successive layers of a trained network correspond to activity in successive areas of the human visual system.
# Such agreement supports the idea of a hierarchy; it does not say that brains learn as networks do.

# %% [markdown]
# ## Filters made by hand
#
# Before kernels were learned they were designed, and the designs still help to read what a network has learned.
# A mean of neighbours *blurs*.
# The image plus its difference from the blurred image is *sharper*.
# The difference $[-1,0,1]$ is a derivative, but it amplifies noise; the *Sobel* kernel smooths across the direction in which it differentiates, as the outer product of a column and a row:
#
# $$\mathbf{S}_x = \begin{pmatrix}1\\2\\1\end{pmatrix}\otimes\begin{pmatrix}-1&0&1\end{pmatrix} = \begin{pmatrix}-1&0&1\\-2&0&2\\-1&0&1\end{pmatrix},\qquad \mathbf{S}_y=\mathbf{S}_x^\top. \tag{7.2.10}$$
#
# $\mathbf{S}_x\in\mathbb{R}^{3\times3}$ answers to changes from left to right, $\mathbf{S}_y$ to changes from top to bottom.
# The second derivative is the difference of two differences, $(x_{j+1}-x_j)-(x_j-x_{j-1})$, so its kernel is $[1,-2,1]$; the sum of both directions is the *Laplacian*.
# A kernel for a derivative of order $d$ must give 0 on $1,x,\dots,x^{d-1}$; these are $d$ linear conditions, and a nonzero kernel that meets them needs at least $d+1$ points.

# %%
sobel_x = torch.outer(torch.tensor([1.0, 2, 1]),
                      torch.tensor([-1.0, 0, 1])).to(f64)
sobel_y = sobel_x.mT
laplacian = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=f64)
second = torch.tensor([[1, -2, 1]], dtype=f64)
box = torch.full((3, 3), 1 / 9, dtype=f64)
identity = torch.zeros(3, 3, dtype=f64)
identity[1, 1] = 1
sharpen = 2 * identity - box  # image + (image - blurred image)

# %%
# check 7.2-C8: derivatives of ramps and parabolas are exact
rows, cols = torch.meshgrid(torch.arange(7, dtype=f64),
                            torch.arange(8, dtype=f64), indexing="ij")
assert (corr2d(cols, sobel_x) == 8).all()
assert (corr2d(cols.mT, sobel_x) == 0).all()
assert (corr2d(cols**2 + rows**2, laplacian) == 4).all()
assert (corr2d(cols**2, second) == 2).all()

# %% tags=["hide-input"]
edges_x, edges_y = corr2d(garment, sobel_x), corr2d(garment, sobel_y)
grey = {"image": garment, "blurred": corr2d(garment, box),
        "sharpened": corr2d(garment, sharpen),
        "edges in both directions": (edges_x**2 + edges_y**2).sqrt() / 4}
signed = {"Sobel, left to right": edges_x, "Sobel, top to bottom": edges_y,
          "Laplacian": corr2d(garment, laplacian),
          "second derivative": corr2d(garment, second)}
_, axes = plt.subplots(2, 4, figsize=(7.4, 4.1))
for ax, (name, values) in zip(axes.flat, (grey | signed).items()):
    limit = values.abs().max().item() if name in signed else 1
    ax.imshow(values, vmax=limit, vmin=-limit if name in signed else 0,
              cmap="RdBu_r" if name in signed else "gray")
    ax.set_title(name, fontsize=8)
    ax.axis("off")
d2l.describe(axes, """Eight small pictures of one garment: the image,
    blurred, sharpened, its edges; below, with red for positive and blue for
    negative responses, both Sobel kernels, the Laplacian and the second
    derivative from left to right.""")

# %% [markdown]
# **Figure 7.2.8.** One garment, seven filters.
# Above in grey; below red is positive, blue negative and white zero: each Sobel kernel sees the edges of one direction, with a sign for the order of dark and bright.

# %% [markdown]
# Edge detectors were a field of research of their own; Canny's (1986) combines blurring, derivatives and thresholds so well that it is used to this day.
# A convolutional network replaces the design by learning.
# Its first layer often ends up with blurs and derivatives much like these, and its later layers with features that nobody would have designed.

# %% [markdown]
# ## Summary
#
# - Cross-correlation slides a kernel over the input and takes a weighted sum at each place; the output has $(n_h-k_h+1)\times(n_w-k_w+1)$ elements.
# - A convolutional layer is a cross-correlation plus a bias; a learned kernel absorbs the flip that separates it from a strict convolution.
# - Learning a kernel is least squares on the windows: the eigenvalues of their Gram matrix give the speed and the limit of gradient descent.
# - The receptive field grows by $(k-1)$ times the jump with each layer; gradients confirm it pixel by pixel.
# - The part of the field that matters grows only like the square root of the depth, for means of neighbours exactly and for random networks nearly; training widens it.
# - Small kernels blur, sharpen and differentiate; a derivative of order $d$ needs $d+1$ points.

# %% [markdown]
# ## Exercises
#
# ### Exercise 7.2-1
#
# Build an image with a diagonal edge: the identity matrix of size 6.
# Apply $[1,-1]$.
# What changes if you transpose the image, and what if you transpose the kernel?

# %% [markdown]
# #### Solution 7.2-1

# %% [markdown]
# The response is $1$ on the diagonal and $-1$ left of it, so a diagonal line is seen as well, from both sides.
# Transposing the image changes nothing, since the identity is symmetric.
# Transposing the kernel transposes the output: $\mathbf{X}^\top\star\mathbf{K}^\top=(\mathbf{X}\star\mathbf{K})^\top$, and here $\mathbf{X}^\top=\mathbf{X}$.

# %%
diagonal, K = torch.eye(6), torch.tensor([[1.0, -1.0]])
out = corr2d(diagonal, K)  # (6, 5)
assert torch.equal(corr2d(diagonal.mT, K), out)
assert torch.equal(corr2d(diagonal, K.mT), out.mT)
print(out.int())

# %% [markdown]
# ### Exercise 7.2-2
#
# Given a unit vector $\mathbf{v}=(v_1,v_2)$, $v_1$ to the right and $v_2$ downwards, find a kernel that detects edges orthogonal to $\mathbf{v}$, that is, changes along $\mathbf{v}$.

# %% [markdown]
# #### Solution 7.2-2

# %% [markdown]
# The derivative along $\mathbf{v}$ is $v_1$ times the horizontal plus $v_2$ times the vertical derivative, and cross-correlation is linear in the kernel: take $v_1\mathbf{S}_x+v_2\mathbf{S}_y$.
# On the ramp $v_1x+v_2y$ the answer is $8v_1^2+8v_2^2=8$ for every direction, and 0 on the ramp across.

# %%
for degrees in (0, 30, 45, 120):
    angle = math.radians(degrees)
    v1, v2 = math.cos(angle), math.sin(angle)
    kernel = v1 * sobel_x + v2 * sobel_y
    along = corr2d(v1 * cols + v2 * rows, kernel)
    across = corr2d(-v2 * cols + v1 * rows, kernel)
    torch.testing.assert_close(along, torch.full_like(along, 8))
    torch.testing.assert_close(across, torch.zeros_like(across))

# %% [markdown]
# ### Exercise 7.2-3
#
# What is the smallest kernel for the third derivative?

# %% [markdown]
# #### Solution 7.2-3

# %% [markdown]
# It needs four points.
# Differencing $[-1,1]$ three times gives $[-1,3,-3,1]$.
# On $x^3$ it gives 6, the third derivative, and on $1$, $x$, $x^2$ it gives 0.
# With three points the conditions on $1,x,x^2$ form an invertible system, which leaves only the zero kernel.

# %%
third = torch.tensor([[-1, 3, -3, 1]], dtype=f64)
assert (corr2d(cols**3, third) == 6).all()
for power in range(3):
    assert (corr2d(cols**power, third) == 0).all()
x = torch.arange(3, dtype=f64)
conditions = torch.stack([x**power for power in range(3)])  # (3, 3)
assert torch.linalg.matrix_rank(conditions) == 3
kernel = torch.ones(1, 1, 1)
for _ in range(3):  # convolve with [-1, 1], all overlaps
    kernel = F.conv1d(kernel, torch.tensor([[[1.0, -1]]]), padding=1)
print(kernel.int().tolist()[0][0])
assert torch.equal(kernel[0].to(f64), third)

# %% [markdown]
# ### Exercise 7.2-4
#
# `Conv2D` computes its output in loops and writes it element by element into a tensor of zeros.
# Does automatic differentiation work through that?
# What happens if `forward` uses `self.weight.data`?

# %% [markdown]
# #### Solution 7.2-4

# %% [markdown]
# It works: an assignment to an element is recorded like any other operation, and the tensor of zeros becomes part of the graph.
# `gradcheck` compares the derivatives with finite differences; it needs double precision, which `corr2d` keeps because its output takes the type of the product.
# `.data` is a view of the numbers without the graph, so the weight gets no gradient, without any error: the bias still learns, and the kernel silently stays as it was.

# %%
torch.manual_seed(7)
inputs = [torch.randn(4, 5, dtype=f64, requires_grad=True),
          torch.randn(2, 2, dtype=f64, requires_grad=True)]
assert torch.autograd.gradcheck(corr2d, inputs)
layer = Conv2D((2, 2))
(corr2d(image, layer.weight.data) + layer.bias).sum().backward()
assert layer.weight.grad is None and layer.bias.grad is not None
layer(image).sum().backward()
assert layer.weight.grad is not None

# %% [markdown]
# ### Exercise 7.2-5
#
# Write cross-correlation as a product of two matrices.

# %% [markdown]
# #### Solution 7.2-5

# %% [markdown]
# Write each window as a row; `F.unfold` does it, with the windows as columns.
# The product with the kernel as a column holds all outputs, in reading order.
# This costs memory, since a pixel is stored once for each window that it lies in, but matrix products are fast; [Section 7.4](04-channels.ipynb) extends it to channels.

# %%
image7, K23 = torch.randn(7, 8, dtype=f64), torch.randn(2, 3, dtype=f64)
windows = F.unfold(image7[None, None], K23.shape)[0].mT  # (36, 6)
product = windows @ K23.reshape(-1, 1)  # (36, 1)
torch.testing.assert_close(product.reshape(6, 6), corr2d(image7, K23))
assert windows.shape == (36, 6)

# %% [markdown]
# ### Exercise 7.2-6
#
# A kernel is *separable* if it is the outer product of a column and a row.
# Which of the kernels above are, how do you find out, and what is it good for?

# %% [markdown]
# #### Solution 7.2-6

# %% [markdown]
# Outer products are the matrices of rank 1.
# Sobel kernels and the box have rank 1; the Laplacian has rank 2, it is a sum of two separable kernels.
# A separable $k\times k$ kernel can be applied as a column and then a row, with $2k$ instead of $k^2$ multiplications for each output; the singular value decomposition finds the two factors.

# %%
ranks = {name: torch.linalg.matrix_rank(kernel).item()
         for name, kernel in (("Sobel", sobel_x), ("box", box),
                              ("Laplacian", laplacian))}
print(ranks)
assert ranks == {"Sobel": 1, "box": 1, "Laplacian": 2}
U, S, Vh = torch.linalg.svd(sobel_x)
column, row = U[:, :1] * S[0], Vh[:1]  # (3, 1) and (1, 3)
twice = corr2d(corr2d(garment, column), row)
torch.testing.assert_close(twice, corr2d(garment, sobel_x))

# %% [markdown]
# ## Sources
#
# - L. Spillmann, Receptive fields of visual neurons: the early years, Perception 43, 2014: the history of the term.
# - D. H. Hubel and T. N. Wiesel, Receptive fields of single neurones in the cat's striate cortex, 1959, [doi:10.1113/jphysiol.1959.sp006308](https://doi.org/10.1113/jphysiol.1959.sp006308).
# - D. J. Field, Relations between the statistics of natural images and the response properties of cortical cells, 1987, [doi:10.1364/JOSAA.4.002379](https://doi.org/10.1364/JOSAA.4.002379).
# - I. Kuzovkin et al., Activations of deep convolutional neural networks are aligned with gamma band activity of human visual cortex, 2018, [doi:10.1038/s42003-018-0110-y](https://doi.org/10.1038/s42003-018-0110-y).
# - W. Luo, Y. Li, R. Urtasun and R. Zemel, Understanding the effective receptive field in deep convolutional neural networks, 2016, [arXiv:1701.04128](https://arxiv.org/abs/1701.04128).
# - A. Araujo, W. Norris and J. Sim, Computing receptive fields of convolutional neural networks, 2019, [doi:10.23915/distill.00021](https://doi.org/10.23915/distill.00021).
# - J. Canny, A computational approach to edge detection, 1986, [doi:10.1109/TPAMI.1986.4767851](https://doi.org/10.1109/TPAMI.1986.4767851).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
