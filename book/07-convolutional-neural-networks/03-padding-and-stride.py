# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu:
#         nets: 20
#       smoke:
#         nets: 2
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
# # 7.3 Padding and stride
#
# A convolution returns fewer numbers than it receives: the window does not fit around the pixels at the border.
# How do we keep the size of an image through a hundred layers, and how do we shrink it on purpose?
# *Padding* answers the first question and *stride* the second.
# Both follow one short formula, and both change what a network can know about the borders of its input.

# %% [markdown]
# **You will**
#
# - predict the output shape of any convolution from kernel, padding, stride and dilation;
# - choose a padding that keeps the size, also for even kernels, and know which number PyTorch wants;
# - show that zero padding treats border pixels unlike the others, and that a network can read its position from it;
# - say what a stride saves and what it skips, and undo its change of size with a transposed convolution.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import itertools
import math
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.convolutional_neural_networks import corr2d

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
nets = 5  # random networks in the experiment on positions

# %% [markdown]
# ## Why the border matters
#
# [Section 7.2](02-convolutions.ipynb) found that a kernel with $k$ rows turns $n$ rows into $n-k+1$.
# Each layer thus removes $k-1$ rows and $k-1$ columns.
# One layer does little harm, but losses add up: ten layers with $5\times5$ kernels turn a $240\times240$ image into one of $200\times200$, since $240-10\cdot4=200$.
# The map loses $1-(200/240)^2\approx30.6\,\%$ of its area.
# What was to be seen along the border is not cut off, since the outermost windows still read it, but few windows do.

# %%
X = torch.zeros(1, 1, 240, 240)
for _ in range(10):
    X = F.conv2d(X, torch.ones(1, 1, 5, 5))
lost = 1 - X.numel() / 240**2
print(f"size {tuple(X.shape[2:])}, area lost {lost:.1%}")
assert X.shape[2:] == (200, 200) and abs(lost - 0.306) < 5e-4

# %% [markdown]
# A pixel in the middle of an image lies in $k^2$ windows of one layer, the corner pixel in a single one.
# We can count the windows by differentiation.
# With a kernel of ones each output is the sum of the pixels in its window, so the derivative of the sum of all outputs with respect to a pixel is the number of windows that contain it.

# %%
def usage_map(n, k, padding=0):
    """How many k x k windows read each pixel of an n x n image."""
    X = torch.ones(1, 1, n, n, requires_grad=True)
    Y = F.conv2d(X, torch.ones(1, 1, k, k), padding=padding)
    return torch.autograd.grad(Y.sum(), X)[0][0, 0]  # (n, n)


def show_usage(maps, titles):
    """Count maps side by side, on one colour scale, with their numbers."""
    _, axes = plt.subplots(1, len(maps), figsize=(7, 2.6))
    for ax, counts, title in zip(axes, maps, titles):
        ax.imshow(counts, cmap="Blues", vmin=0, vmax=14)
        for (i, j), value in zip(itertools.product(range(6), repeat=2),
                                 counts.flatten().int().tolist()):
            ax.text(j, i, value, ha="center", va="center", fontsize=9)
        ax.set_title(title)
        ax.axis("off")
    return axes


axes = show_usage([usage_map(6, k) for k in (1, 2, 3)],
                  ["1 × 1 kernel", "2 × 2 kernel", "3 × 3 kernel"])
d2l.describe(axes, """Three 6 by 6 grids of counts. With a 1 by 1 kernel all
    are 1. With 2 by 2 the corners are 1, the edges 2 and the interior 4.
    With 3 by 3 the first row is 1, 2, 3, 3, 2, 1 and the centre 9.""")

# %% [markdown]
# **Figure 7.3.1.** How many windows read each pixel of a $6\times6$ image, without padding.
# The larger the kernel, the less the corners count; with a $3\times3$ kernel a corner is read once and the centre nine times.

# %% [markdown]
# ## Padding
#
# The remedy is to enlarge the image before the window moves over it.
# *Padding* adds extra rows and columns around the input, most often filled with zeros.
# If $p_h$ rows and $p_w$ columns are added *in total*, half of them on each side, the output has the shape
#
# $$(n_h-k_h+p_h+1)\times(n_w-k_w+p_w+1). \tag{7.3.1}$$
#
# Here $n_h\times n_w$ is the shape of the input and $k_h\times k_w$ that of the kernel.
# It is the formula of [Section 7.2](02-convolutions.ipynb) with $n_h+p_h$ and $n_w+p_w$ in place of $n_h$ and $n_w$.
#
# Take the example of that section, the numbers 0 to 8 as input and 0 to 3 as kernel, and add one zero on every side, $p_h=p_w=2$.
# The output grows from $2\times2$ to $(3-2+2+1)\times(3-2+2+1)=4\times4$.

# %%
X = torch.arange(9.0).reshape(3, 3)
K = torch.arange(4.0).reshape(2, 2)
padded = F.pad(X, (1, 1, 1, 1))  # left, right, top, bottom: (5, 5)
Y = corr2d(padded, K)            # (4, 4)
print(Y)

# %% tags=["hide-input"]
def draw_grid(ax, values, fills=(), pad=0, title=""):
    """A matrix as numbered cells; `fills` maps (i, j) to a colour.

    The outer `pad` rows and columns are drawn as padding, in grey.
    """
    rows, cols = values.shape
    fills = dict(fills)
    for i, j in itertools.product(range(rows), range(cols)):
        inside = pad <= i < rows - pad and pad <= j < cols - pad
        ax.add_patch(plt.Rectangle(
            (j, i), 1, 1, ec="#555555", lw=0.8 if inside else 0.4,
            fc=fills.get((i, j), "white" if inside else "#e4e4e4")))
        ax.text(j + 0.5, i + 0.5, f"{values[i, j]:g}", ha="center",
                va="center", color="#222222" if inside else "#666666")
    ax.set(xlim=(-0.1, cols + 0.1), ylim=(5.1, -0.1), title=title,
           aspect="equal")  # as tall as 5 rows: equal cells in all panels
    ax.axis("off")


def block(i, j, h, w, color):
    """The cells of an h x w window at (i, j), all in one colour."""
    return {(a, b): color for a in range(i, i + h) for b in range(j, j + w)}


blue, orange, green, pink = "#a6cfe8", "#f4b98f", "#9ad6c2", "#ecc6dc"

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 3, figsize=(6.4, 2.5),
                       gridspec_kw={"width_ratios": [5, 2, 4]})
draw_grid(axes[0], padded, block(0, 2, 2, 2, blue), pad=1,
          title="input, padded")
draw_grid(axes[1], K, block(0, 0, 2, 2, blue), title="kernel")
draw_grid(axes[2], Y, {(0, 2): blue}, title="output")
d2l.describe(axes, """A 3 by 3 input with a ring of zeros, a 2 by 2 kernel
    and the 4 by 4 output. A window that holds 0, 0, 1, 2 is marked, and so
    is the output 8 that belongs to it.""")

# %% [markdown]
# **Figure 7.3.2.** Cross-correlation of a padded input.
# The marked window holds two zeros of the padding: $0\cdot0+0\cdot1+1\cdot2+2\cdot3=8$.

# %% [markdown]
# ### The size stays the same
#
# The output has the size of the input if
#
# $$p_h=k_h-1\quad\text{and}\quad p_w=k_w-1. \tag{7.3.2}$$
#
# For an odd kernel size $k_h=1,3,5,7,\dots$ this $p_h$ is even, and $p_h/2=(k_h-1)/2$ rows go above and below.
# Then `Y[i, j]` belongs to the window that is centred on `X[i, j]`: input and output lie over each other, pixel by pixel.
# This is the main reason why kernels have odd sizes.
#
# An even kernel has no centre, and an odd $p_h$ cannot be halved: one side gets $\lceil p_h/2\rceil$ rows, the other $\lfloor p_h/2\rfloor$.
#
# One trap here costs many people an hour.
# In (7.3.1) $p_h$ counts both sides together.
# The argument `padding` of PyTorch counts *one* side, so $p_h=2\cdot{}$`padding`.
# A $3\times3$ kernel keeps the size with $p_h=2$, which is `padding=1`; a $5\times5$ kernel needs `padding=2`.
#
# The function below applies a layer to a single matrix.
# The two axes that it adds and removes are those of the examples and of the channels ([Section 7.4](04-channels.ipynb)).

# %%
def comp_conv2d(conv, X):
    """Apply a layer for (n, c, h, w) to one matrix X of shape (h, w)."""
    Y = conv(X[None, None])  # (1, 1, h, w) -> (1, 1, h', w')
    return Y[0, 0]


X8 = torch.rand(8, 8, generator=torch.Generator().manual_seed(73))
square = nn.Conv2d(1, 1, kernel_size=3, padding=1)
oblong = nn.Conv2d(1, 1, kernel_size=(5, 3), padding=(2, 1))
print("3 x 3 kernel:", tuple(comp_conv2d(square, X8).shape))
print("5 x 3 kernel:", tuple(comp_conv2d(oblong, X8).shape))

# %% [markdown]
# A single number stands for both axes, a pair gives height and width separately.
# A kernel that is 1 at its centre and 0 elsewhere shows that the output lies exactly over the input:

# %%
with torch.no_grad():
    square.weight.zero_()
    square.weight[0, 0, 1, 1] = 1  # only the centre
    square.bias.zero_()
assert torch.equal(comp_conv2d(square, X8), X8)

# %% [markdown]
# PyTorch can work the number out: `padding="same"` keeps the size for every kernel.
# For an even kernel it adds the larger half at the bottom and at the right, where symmetric padding would give one row too many or too few.
# With a stride, the topic of the second half of this section, it is refused.

# %%
# check 7.3-C6: "same" also serves even kernels, but no stride
K4 = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(4))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyTorch: this may need a copy of X
    same = F.conv2d(X8[None, None], K4, padding="same")
uneven = F.conv2d(F.pad(X8[None, None], (1, 2, 1, 2)), K4)
assert same.shape[2:] == (8, 8)
torch.testing.assert_close(same, uneven)
assert F.conv2d(X8[None, None], K4, padding=2).shape[2:] == (9, 9)
try:
    nn.Conv2d(1, 1, kernel_size=3, padding="same", stride=2)
    message = ""
except ValueError as error:
    message = str(error)
print(message)
assert "strided" in message

# %% [markdown]
# ## What padding does to the border
#
# ### Not all pixels become equal
#
# Padding is often said to let the network use all pixels equally.
# The counts say otherwise.
# For a $3\times3$ kernel the next figure shows them without padding, with the padding that keeps the size, and with $k-1=2$ zeros on each side, called *full* padding.

# %%
usage = [usage_map(6, 3, padding) for padding in (0, 1, 2)]
axes = show_usage(usage, ["unpadded", "same size (padding 1)",
                          "full (padding 2)"])
d2l.describe(axes, """Three 6 by 6 grids of counts for a 3 by 3 kernel.
    Unpadded the corners are 1 and the centre 9. With padding 1 the corners
    are 4, the edges 6 and the interior 9. With padding 2 all are 9.""")

# %% [markdown]
# **Figure 7.3.3.** How many $3\times3$ windows read each pixel.
# Padding that keeps the size lifts the corner from 1 to 4 and the edge from 3 to 6, but the interior has 9.
# Only full padding makes the counts equal, at the price of an output that grows.

# %%
# check 7.3-C4: counts without, with same-size, and with full padding
assert usage[0][0].tolist() == [1, 2, 3, 3, 2, 1] and usage[0][2, 2] == 9
expected = torch.full((6, 6), 9.0)
expected[[0, -1]] = expected[:, [0, -1]] = 6
expected[[0, 0, -1, -1], [0, -1, 0, -1]] = 4
assert torch.equal(usage[1], expected)
assert torch.equal(usage[2], torch.full((6, 6), 9.0))

# %% [markdown]
# Why full padding works: a pixel is used $k^2$ times if the window may take every position in which one of its $k^2$ cells lies on the pixel, and for the corner most of these positions reach $k-1$ pixels beyond the image.
# But most of the windows that reach beyond the image then hold more zeros than pixels.
# In practice padding serves to keep all sizes predictable and the maps from shrinking.

# %% [markdown]
# ### The border is visible from inside
#
# Zeros are no neutral choice.
# A photo rarely has a black frame, and the kernel cannot tell the zeros from dark pixels.
# The cleanest test is an image in which nothing happens, all ones, and a kernel that computes the mean of its window.
# Every output should be 1.
# With zeros around the image the outer ring of outputs comes out too small; the next layer reads this ring, and the error moves one pixel further in.

# %%
def smooth(image, layers, mode="zeros", k=3):
    """Mean filters of size k x k that keep the size of (h, w)."""
    mode = "constant" if mode == "zeros" else mode
    H = image[None, None]  # (1, 1, h, w)
    mean = torch.full((1, 1, k, k), 1 / k**2, dtype=H.dtype)
    for _ in range(layers):
        H = F.conv2d(F.pad(H, (k // 2,) * 4, mode=mode), mean)
    return H[0, 0]


ones = torch.ones(12, 12, dtype=f64)
print((smooth(ones, layers=1)[:3, :6] * 9).round().int())  # in ninths

# %% [markdown]
# The other *padding modes* take the border values from the image:
# *reflect* mirrors it at its last pixel, *replicate* repeats this pixel, and *circular* goes on at the opposite side.

# %%
# check 7.3-C8: what the modes put beside (1, 2, 3, 4)
line = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])  # (1, 1, 4)
borders = {"reflect": [3, 2, 1, 2, 3, 4, 3, 2],
           "replicate": [1, 1, 1, 2, 3, 4, 4, 4],
           "circular": [3, 4, 1, 2, 3, 4, 1, 2],
           "constant": [0, 0, 1, 2, 3, 4, 0, 0]}
for mode, expected in borders.items():
    assert F.pad(line, (2, 2), mode=mode)[0, 0].tolist() == expected

# %% tags=["hide-input"]
rows, cols = torch.meshgrid(torch.arange(16.0), torch.arange(16.0),
                            indexing="ij")
picture = 0.35 + 0.025 * cols  # brighter to the right
picture[(rows - 4) ** 2 + (cols - 11) ** 2 < 14] = 0.1  # a dark disc
picture[11:14, 2:9] = 0.95  # a bright bar
modes = ("constant", "reflect", "replicate", "circular")
shown = [F.pad(picture[None, None], (6,) * 4, mode=mode)[0, 0]
         for mode in modes]  # each (28, 28)
axes = d2l.show_images(shown, 1, 4, scale=1.7, titles=(
    "zeros", "reflect", "replicate", "circular"))
for ax in axes:
    ax.add_patch(plt.Rectangle((5.5, 5.5), 16, 16, fill=False,
                               ec="#D55E00", lw=1.5))
d2l.describe(axes, """One picture with a disc and a bar in four frames of six
    pixels: black, mirrored, with the border pixels drawn out, and continued
    at the opposite side. A square marks the original.""")

# %% [markdown]
# **Figure 7.3.4.** Four ways to go on beyond the border; the square marks the image itself.
# Zeros put a hard edge around it, reflection and replication continue it without a jump, and circular padding joins borders that have nothing to do with each other.

# %%
# check 7.3-C7: zeros disturb the outer 3 rows after 3 layers, and only they
wrong = (smooth(ones, layers=3) - 1).abs() > 1e-9
frame = torch.ones(12, 12, dtype=torch.bool)
frame[3:-3, 3:-3] = False
assert torch.equal(wrong, frame)
for mode in ("reflect", "replicate", "circular"):
    torch.testing.assert_close(smooth(ones, 3, mode), ones)

# %% [markdown]
# After $L$ layers with odd kernels of size $k$ the zeros reach
#
# $$L\cdot\frac{k-1}{2} \tag{7.3.3}$$
#
# rows into the image, which is the sum of the paddings of one side.
# An image with $n$ rows thus has no undisturbed row left after about $n/(k-1)$ layers: 16 layers for $n=32$ and $k=3$.
# Here are the disturbed rows as measured on a constant image of $32\times32$ pixels.

# %%
def depth(k, layers, n=32):
    """Disturbed rows below the upper border, in the middle column."""
    H = smooth(torch.ones(n, n, dtype=f64), layers, k=k)
    return int(((H[:, n // 2] - 1).abs() > 1e-9)[:n // 2].sum())


L = list(range(1, 17))
depths = {k: [depth(k, layers) for layers in L] for k in (3, 5, 7)}
_, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
image = torch.ones(32, 32, dtype=f64)
d2l.plot(range(1, 33), [smooth(image, layers)[:, 16] for layers in (1, 4, 12)],
         ["1 layer", "4 layers", "12 layers"], xlabel="row",
         ylabel="output in the middle column", ax=left)
d2l.plot(L, list(depths.values()), [f"{k} × {k} kernel" for k in depths],
         xlabel="layers", ylabel="disturbed rows", ax=right)
right.axhline(16, color="gray", lw=1, ls=":")
right.text(16, 16.3, "half of the image", ha="right", color="dimgray")
right.set(ylim=(0, 18.5), yticks=range(0, 17, 4), xticks=range(0, 17, 4))
assert all(depths[k] == [min(n * (k // 2), 16) for n in L] for k in depths)
d2l.describe((left, right), """Left: the output along the middle column is 1
    inside and falls towards both borders, the wider the more layers. Right:
    disturbed rows grow by 1, 2 or 3 for each layer with kernels of size 3,
    5 and 7, up to half of the image.""")

# %% [markdown]
# **Figure 7.3.5.** How far zero padding reaches into a constant image.
# Left the size of the error, right its depth, which follows (7.3.3) exactly until the errors of opposite borders meet.

# %% [markdown]
# ### A network can read its position
#
# [Section 7.1](01-from-dense-to-convolution.ipynb) derived convolution from the demand that a layer treats all places alike.
# With circular padding this holds exactly.
# With zeros it does not: the border can be recognized, and deep layers carry the message inwards.
# So a network with zero padding can know *where* something is, although nobody told it.
#
# How much it knows can be measured.
# The networks below are random and untrained, their input is noise, and a linear regression tries to guess the row of a pixel from the features at this pixel alone.
# Its quality is the *coefficient of determination* $R^2$ on new images: 1 means that the row is known, 0 that the guess is no better than always naming the middle.

# %%
def random_features(images, mode, seed, layers=8, width=16):
    """Features (m, width, h, w) after each layer of a random network."""
    rng = torch.Generator().manual_seed(seed)
    H, features = images, []
    for _ in range(layers):
        c = H.shape[1]
        W = torch.randn(width, c, 3, 3, generator=rng) * math.sqrt(2 / (9 * c))
        H = F.relu(F.conv2d(F.pad(H, (1, 1, 1, 1), mode=mode), W))
        features.append(H)
    return features


def row_table(H):
    """Features and row, from -1 to 1, of every pixel of every image."""
    m, _, h, w = H.shape
    A = torch.cat((H, torch.ones(m, 1, h, w)), dim=1).double()
    row = torch.linspace(-1, 1, h, dtype=f64)[:, None].expand(m, h, w)
    return A.permute(0, 2, 3, 1).flatten(0, 2), row.reshape(-1, 1)

# %%
def position_r2(mode, seed):
    """R² of the row on new images, for the features of each layer."""
    rng = torch.Generator().manual_seed(100 + seed)
    train, test = torch.rand(2, 20, 1, 16, 16, generator=rng)
    scores = []
    for H_train, H_test in zip(random_features(train, mode, seed),
                               random_features(test, mode, seed)):
        A, y = row_table(H_train)  # (5120, 17), (5120, 1)
        w = torch.linalg.lstsq(A, y, driver="gelsd").solution
        A, y = row_table(H_test)
        scores.append(1 - (A @ w - y).square().sum() / y.square().sum())
    return torch.stack(scores)  # (layers,)


by_net = {mode: torch.stack([position_r2(mode, seed) for seed in range(nets)])
          for mode in ("constant", "reflect", "circular")}
r2 = {mode: scores.mean(dim=0) for mode, scores in by_net.items()}  # (8,)

# %%
ax = d2l.plot(range(1, 9), list(r2.values()),
              ["zeros", "reflect", "circular"], xlabel="layer",
              ylabel="$R^2$ of the row of a pixel", ylim=(-0.05, 0.6))
d2l.describe(ax, """R squared against the layer for three padding modes. With
    zeros it rises from about 0.15 in the first layer to more than 0.3, with
    reflect and circular padding it stays at or close to zero.""")

# %% [markdown]
# **Figure 7.3.6.** How well the row of a pixel can be guessed from random features of noise, as a mean over several networks.
# Zero padding gives a part of the position away, more of it after several layers than after the first, in which only the outermost ring of pixels sees the border.
# With circular padding there is no border to see; a mirrored border is hardly noticed by this reader.

# %%
# check: zeros leak the position, the other modes hardly or not at all
print(f"zeros, layer 6: R² = {r2['constant'][5]:.1f}")
assert r2["constant"][3:].min() > r2["constant"][0] + 0.1 > 0.2
assert r2["reflect"].abs().max() < r2["constant"].min() / 4
assert r2["circular"].abs().max() < 0.01
images = torch.rand(1, 1, 16, 16)  # each seed is a network of its own
maps = [random_features(images, "constant", seed)[0] for seed in (0, 1)]
assert not torch.equal(*maps) and all((H == 0).any() for H in maps)
table, row = row_table(maps[0])  # 16 features and the intercept
assert table.shape == (256, 17) and (table[:, 16] == 1).all()
assert (row[:16] == -1).all() and row[255] == 1  # pixels in reading order

# %% [markdown]
# Whether this is a fault depends on the task.
# In a portrait the eyes are above the mouth, so position is information, and networks use it.
# For a texture, or for a map that is cut into tiles, the border is an accident, and the errors along the edges of the tiles can be seen.
#
# Zeros have remained the default.
# They need no values from elsewhere, and an implementation may skip them instead of writing them into a copy of the input.
# The other modes are layers with `padding_mode="reflect"` and so on; they are used mostly where artefacts show at the borders.

# %% [markdown]
# ## Stride
#
# So far the window moved by one pixel at a time.
# Neighbouring windows overlap strongly, and their outputs often resemble each other (Exercise 7.3-4).
# The *stride* is the number of rows or columns by which the window moves to its next position.
# With a larger stride the output has fewer positions; the image is *downsampled*, and the work shrinks with it.
#
# With stride $s_h$ downwards and $s_w$ to the right the output has the shape
#
# $$\left\lfloor\frac{n_h-k_h+p_h+s_h}{s_h}\right\rfloor\times\left\lfloor\frac{n_w-k_w+p_w+s_w}{s_w}\right\rfloor. \tag{7.3.4}$$
#
# The other symbols are those of (7.3.1), and $\lfloor\cdot\rfloor$ rounds down.
# To see why, count the steps.
# The window starts at row 0 and can move down by $n_h-k_h+p_h$ rows in all.
# That is room for $\lfloor(n_h-k_h+p_h)/s_h\rfloor$ steps, and the starting position makes one more.
#
# With the padding that keeps the size at stride 1, $p_h=k_h-1$, the kernel drops out: there are $\lfloor(n_h+s_h-1)/s_h\rfloor=\lceil n_h/s_h\rceil$ rows, exactly $n_h/s_h$ if the stride divides $n_h$.
#
# Back to the example of Figure 7.3.2, now with stride 3 downwards and 2 to the right: $\lfloor(3-2+2+3)/3\rfloor=2$ rows and $\lfloor(3-2+2+2)/2\rfloor=2$ columns.

# %%
strided = F.conv2d(X[None, None], K[None, None], padding=1, stride=(3, 2))
strided = strided[0, 0]  # (2, 2)
_, axes = plt.subplots(1, 3, figsize=(5.4, 2.5),
                       gridspec_kw={"width_ratios": [5, 2, 2]})
places = {(0, 0): blue, (0, 1): orange, (1, 0): green, (1, 1): pink}
windows = {}
for (i, j), color in places.items():
    windows |= block(3 * i, 2 * j, 2, 2, color)
draw_grid(axes[0], padded, windows, pad=1, title="input, padded")
draw_grid(axes[1], K, title="kernel")
draw_grid(axes[2], strided, places, title="output")
d2l.describe(axes, """A padded 3 by 3 input with four 2 by 2 windows in four
    colours, three rows and two columns apart, the kernel, and the 2 by 2
    output 0, 8, 6, 8 in the colours of the windows.""")

# %% [markdown]
# **Figure 7.3.7.** Padding 1 and stride $(3, 2)$: each output has the colour of its window.
# The cells without colour, among them a whole row of the image, are read by no window.

# %%
# check 7.3-C3: padded, at stride 1 and at stride (3, 2)
assert Y.shape == (4, 4) and Y[0].tolist() == [0, 3, 8, 4]
assert strided.tolist() == [[0, 8], [6, 8]]

# %% [markdown]
# A strided convolution computes nothing new.
# Its outputs are every $s_h$-th row and every $s_w$-th column of the output at stride 1; the others are not computed.
# The work therefore drops by a factor of about $s_hs_w$.

# %%
# check 7.3-C5: stride s keeps every s-th output of stride 1
rng = torch.Generator().manual_seed(5)
image = torch.rand(1, 1, 11, 13, generator=rng)
kernel = torch.rand(1, 1, 3, 4, generator=rng)
dense = F.conv2d(image, kernel, padding=1)
for sh, sw in itertools.product(range(1, 6), repeat=2):
    torch.testing.assert_close(
        F.conv2d(image, kernel, padding=1, stride=(sh, sw)),
        dense[..., ::sh, ::sw])

# %% [markdown]
# The defaults of PyTorch are padding 0 and stride 1.
# As with the padding, `stride=2` means $(2, 2)$.
# Two layers on an $8\times8$ matrix:

# %%
half = nn.Conv2d(1, 1, kernel_size=3, padding=1, stride=2)
odd = nn.Conv2d(1, 1, kernel_size=(3, 5), padding=(0, 1), stride=(3, 4))
print("kernel 3, padding 1, stride 2:", tuple(comp_conv2d(half, X8).shape))
print("kernel (3, 5), padding (0, 1), stride (3, 4):",
      tuple(comp_conv2d(odd, X8).shape))

# %% [markdown]
# The second by (7.3.4): $(8-3+0+3)/3=8/3=2.67$ becomes 2 rows, $(8-5+2+4)/4=9/4=2.25$ becomes 2 columns.
#
# Large strides go with large kernels.
# A $7\times7$ kernel with stride 2 or an $11\times11$ kernel with stride 4 still reads every pixel several times; networks that begin in this way follow in Chapter 8.
# A kernel smaller than the stride leaves gaps.
# Which sizes come out is best seen in a picture.

# %% [markdown]
# ![A row of ten cells, the first and the last grey for padding, eight white for the input. Below it four windows of three cells start at cells 0, 2, 4 and 6. The last cell is read by no window.](img/pad-formula.svg)

# %% [markdown]
# **Figure 7.3.8.** One axis with $n=8$, $k=3$, one zero on each side and stride 2.
# Ten cells leave the window $10-3=7$ moves of one cell, which is room for three steps of two cells; with the start these are 4 outputs.
# One move is left over, so the padding at the right end is never read.

# %% [markdown]
# The rounding has a side effect that is easy to overlook.
# What is left over always lies at the bottom and at the right.
# In Figure 7.3.8 only the left zero matters, and the windows are centred on pixels 0, 2, 4 and 6 of an image whose middle lies between pixels 3 and 4: the output is shifted by half a pixel to the left.
# Without padding the rounding discards pixels of the image itself.

# %% tags=["hide-input"]
n_axis = torch.arange(1, 9)
sizes = {"kernel 3, padding 1": (3, 1), "kernel 7, padding 3": (7, 3),
         "kernel 3, padding 0": (3, 0), "kernel 7, padding 0": (7, 0)}
lines = [[F.conv1d(torch.ones(1, 1, 32), torch.ones(1, 1, k), padding=p,
                   stride=s).shape[2] for s in range(1, 9)]
         for k, p in sizes.values()]
ax = d2l.plot(n_axis, lines, list(sizes), xlabel="stride",
              ylabel="output size", fmts=("o-", "x--", "s-.", "^:"))
assert lines[0] == lines[1] == [math.ceil(32 / s) for s in range(1, 9)]
d2l.describe(ax, """Output size for 32 inputs against stride 1 to 8. Kernels 3
    and 7 with padding 1 and 3 give the same curve 32, 16, 11, 8, 7, 6, 5, 4.
    Without padding the sizes are smaller at first and then nearly equal.""")

# %% [markdown]
# **Figure 7.3.9.** Output size for 32 inputs.
# With the padding $p=k-1$ the kernel size plays no role, and every stride that divides 32 divides the size exactly.

# %% [markdown]
# ## One formula for all shapes
#
# A third number changes the window itself.
# A convolution with *dilation* $d$ takes its $k$ cells not side by side but $d$ apart.
# The window then spans
#
# $$d(k-1)+1 \tag{7.3.5}$$
#
# cells: there are $k-1$ gaps of $d$, and one more cell at the end.
# With $d=1$ that is $k$.
# A $3\times3$ kernel with dilation 2 looks at a $5\times5$ region with its nine weights; it sees more at the same cost, but not everything in it.
# Put (7.3.5) in the place of $k$ and the count of steps gives the formula for all cases:
#
# $$n^{\mathrm{out}}=\left\lfloor\frac{n+2\,\mathtt{padding}-d(k-1)-1}{s}\right\rfloor+1. \tag{7.3.6}$$
#
# Here $n$ is the size of the input along one axis, `padding` the number of zeros on *each* side, $k$ the kernel size, $d$ the dilation and $s$ the stride along this axis; height and width follow the same formula with their own values.
# With $d=1$ and $p=2\cdot{}$`padding` it is (7.3.4), since adding 1 after the rounding is adding $s$ before the division.
# As an example, 32 pixels, kernel 3 and ones for everything else give $(32+2-2-1)/1+1=32$.

# %% tags=["export"]
def conv_out(n, k, padding=0, stride=1, dilation=1):
    """Output size of a convolution along one axis.

    `n` is the input size, `k` the kernel size, `padding` the number of
    cells added on each side, `stride` the step of the window and
    `dilation` the distance of its cells. All are integers; for height
    and width call it twice. Pooling with a window of `k` obeys it too.
    Raises ValueError if a value is impossible or the window does not fit.

    conv_out(32, 3, padding=1) is 32, conv_out(224, 11, 2, 4) is 55.
    """
    lowest = {"n": 1, "k": 1, "padding": 0, "stride": 1, "dilation": 1}
    for (name, low), value in zip(lowest.items(),
                                  (n, k, padding, stride, dilation)):
        if not isinstance(value, int) or value < low:
            raise ValueError(f"{name} is {value!r}, but must be an integer "
                             f"of at least {low}; give one axis at a time.")
    extent = dilation * (k - 1) + 1
    if extent > n + 2 * padding:
        raise ValueError(
            f"the window spans {extent} cells, but the input has only "
            f"{n + 2 * padding} with its padding; pad more, or take a "
            f"smaller kernel or dilation.")
    return (n + 2 * padding - extent) // stride + 1

# %%
print(conv_out(8, 3, padding=1, stride=2), conv_out(32, 3, padding=1))
try:
    conv_out(4, 3, dilation=2)
except ValueError as error:
    print(error)
bad = {"n": (0, 3), "k": (8, 0), "padding": (8, 3, -1),
       "stride": (8, 3, 0, 0), "dilation": (8, 3, 0, 1, 0)}
for name, numbers in (*bad.items(), ("n", (8.0, 3)), ("k", (8, (3, 3)))):
    try:
        conv_out(*numbers)
        raise AssertionError(f"{name} of {numbers} was accepted")
    except ValueError as error:
        assert str(error).startswith(f"{name} is ")

# %%
# check 7.3-C1: five shapes, by the layer and by the formula
wide = nn.Conv2d(1, 1, 3, padding=1, stride=1, dilation=1)
for conv, n, shape in ((square, 8, (8, 8)), (oblong, 8, (8, 8)),
                       (half, 8, (4, 4)), (odd, 8, (2, 2)),
                       (wide, 32, (32, 32))):
    assert comp_conv2d(conv, torch.zeros(n, n)).shape == shape
    axes = zip(conv.kernel_size, conv.padding, conv.stride, conv.dilation)
    assert tuple(conv_out(n, *numbers) for numbers in axes) == shape

# %% [markdown]
# A formula with a rounding invites errors by one.
# There are few enough small cases to try them all; where the window does not fit, both sides have to refuse.

# %%
# check 7.3-C2: the formula agrees with PyTorch in every small case
def size_or_none(function, error):
    """What a call returns, or None if it raises this error."""
    try:
        return function()
    except error:
        return None


valid = refused = 0
for n, k, p, s, d in itertools.product(
        range(1, 16), range(1, 6), range(4), range(1, 5), range(1, 4)):
    ours = size_or_none(lambda: conv_out(n, k, p, s, d), ValueError)
    theirs = size_or_none(lambda: F.conv1d(
        torch.ones(1, 1, n), torch.ones(1, 1, k), padding=p, stride=s,
        dilation=d).shape[2], RuntimeError)
    assert ours == theirs, (n, k, p, s, d, ours, theirs)
    valid, refused = valid + (ours is not None), refused + (ours is None)
print(f"{valid} sizes agree, {refused} are refused by both")
assert valid > 3000 and refused > 100

# %% [markdown]
# The operation itself is as short.
# We pad the input, spread the kernel by putting $d-1$ zeros between its cells, correlate, and keep every $s$-th output.
# This wastes work on zeros and on outputs that are thrown away, which PyTorch avoids, but it says exactly what each number means.

# %%
def corr2d_general(X, K, padding=0, stride=1, dilation=1):
    """Cross-correlation of (h, w) with (kh, kw); numbers or pairs."""
    (ph, pw), (sh, sw), (dh, dw) = (
        (v, v) if isinstance(v, int) else v
        for v in (padding, stride, dilation))
    padded = F.pad(X, (pw, pw, ph, ph))
    kh, kw = K.shape
    spread = K.new_zeros(dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    spread[::dh, ::dw] = K
    return corr2d(padded, spread)[::sh, ::sw]


assert torch.equal(corr2d_general(X, K, padding=1, stride=(3, 2)), strided)

# %%
# check: the same numbers as PyTorch, whatever the four settings
rng = torch.Generator().manual_seed(8)
image = torch.rand(9, 10, generator=rng)
kernel = torch.rand(3, 2, generator=rng)
settings = itertools.product((0, 1, (2, 1)), (1, 2, (3, 2)), (1, 2, (1, 3)))
for padding, stride, dilation in settings:
    options = {"padding": padding, "stride": stride, "dilation": dilation}
    torch.testing.assert_close(
        corr2d_general(image, kernel, **options),
        F.conv2d(image[None, None], kernel[None, None], **options)[0, 0])

# %% [markdown]
# The figures below draw the windows.
# Dots of one colour are the cells of one window: the first, its right neighbour, and the last; the output has cells of the same colours.
# A cross marks a cell that no window reads.

# %% tags=["hide-input"]
def draw_case(left, right, n, k, padding, stride, dilation):
    """Padded input with three windows, and the output grid."""
    full, p, d = n + 2 * padding, padding, dilation
    out = conv_out(n, k, padding, stride, dilation)
    taps = {stride * i + d * a for i in range(out) for a in range(k)}
    ring = torch.ones(full, full)
    ring[p:full - p, p:full - p] = 0
    unread = [(j + 0.5, i + 0.5)
              for i, j in itertools.product(range(full), repeat=2)
              if i not in taps or j not in taps]
    for ax, cells in ((left, ring), (right, torch.zeros(out, out))):
        size = len(cells)
        ax.imshow(cells, extent=(0, size, size, 0), cmap="Greys", vmax=6,
                  vmin=0)
        ax.hlines(range(size + 1), 0, size, color="#888888", lw=0.6)
        ax.vlines(range(size + 1), 0, size, color="#888888", lw=0.6)
        ax.set(xlim=(size / 2 - 4.7, size / 2 + 4.7), ylim=(9.2, -0.2))
        ax.axis("off")
    if unread:
        left.scatter(*zip(*unread), marker="x", s=14, lw=0.8, c="#999999")
    last, span = out - 1, d * (k - 1) + 1
    for (i, j), color, shift in (((last, last), "C3", 0.75),
                                 ((0, min(1, last)), "C1", 0.5),
                                 ((0, 0), "C0", 0.25)):
        y, x = stride * i, stride * j
        left.add_patch(plt.Rectangle((x, y), span, span, fill=False,
                                     ec=color, lw=1.6, zorder=3))
        cells = [(x + d * a + shift, y + d * b + shift)
                 for a in range(k) for b in range(k)]
        left.scatter(*zip(*cells), s=7, color=color, zorder=3)
        right.add_patch(plt.Rectangle((j, i), 1, 1, ec="#555555", fc=color))
    left.set_title(f"{full} × {full} with padding", fontsize=9)
    right.set_title(f"output {out} × {out}", fontsize=9)

# %% tags=["hide-input"]
cases = {"plain": (7, 3, 0, 1, 1), "padding 1": (7, 3, 1, 1, 1),
         "padding 1, stride 3": (7, 3, 1, 3, 1),
         "padding 1, dilation 2": (7, 3, 1, 1, 2)}
fig, axes = plt.subplots(2, 4, figsize=(7, 4))
for (name, numbers), (top, bottom) in zip(cases.items(), axes.T):
    draw_case(top, bottom, *numbers)
    top.set_title(name, fontsize=9)
d2l.describe(fig, """Four pairs of grids for 7 by 7 inputs and 3 by 3 kernels.
    The output is 5 by 5 plain, 7 by 7 with padding 1, 3 by 3 with padding 1
    and stride 3, and 5 by 5 with padding 1 and dilation 2.""")

# %% [markdown]
# **Figure 7.3.10.** A $7\times7$ input and a $3\times3$ kernel in four settings; grey cells are padding.
# Padding keeps the size, a stride of 3 puts the windows side by side, and dilation spreads the nine cells over a region of $5\times5$.

# %% [markdown]
# Predict the output size before you move a slider, then look.

# %%
def draw(fig, n, k, padding, stride, dilation):
    left, right = fig.subplots(1, 2)
    draw_case(left, right, *map(int, (n, k, padding, stride, dilation)))


d2l.sliders(draw, """Left a padded input of 9 by 9 cells with three windows of
    nine cells each, right the output of 3 by 3 cells, in which the places of
    the three windows are coloured.""", figsize=(5.4, 2.9), n=[6, 7],
    k=[2, 3], padding=[0, 1], stride=[1, 2, 3], dilation=[1, 2])

# %% [markdown]
# **Figure 7.3.11.** Windows and output for all combinations of the five numbers; the picture that you see without scripts has $n=7$, $k=3$, padding 1, stride 2 and dilation 2.
# Look for settings that leave crosses *inside* the image: dilation 2 with stride 2 reads only every second row and column.

# %% [markdown]
# The last remark is a warning.
# If stride and dilation share a factor, or several layers in a row have the same dilation, the cells that an output reads form a sparse grid, and in these layers neighbouring pixels do not meet.
# Networks with dilation therefore vary it, for instance 1, 2, 4, 8.
# Four layers with three cells each then see $1+2\cdot(1+2+4+8)=31$ positions without a gap, where four plain layers see $1+2\cdot4=9$.

# %%
# check: 31 positions for dilations 1, 2, 4, 8, gaps for 2, 2, 2, 2
def seen(dilations, n=64):
    """Inputs that one output of a stack of 3-cell layers depends on."""
    X = torch.ones(1, 1, n, requires_grad=True)
    Y = X
    for d in dilations:
        Y = F.conv1d(Y, torch.ones(1, 1, 3), padding=d, dilation=d)
    grad = torch.autograd.grad(Y[0, 0, n // 2], X)[0][0, 0]
    return grad.nonzero().flatten().tolist()


growing, constant = seen((1, 2, 4, 8)), seen((2, 2, 2, 2))
assert growing == list(range(32 - 15, 32 + 16)) and len(growing) == 31
assert constant == list(range(32 - 8, 32 + 9, 2))
assert len(seen((1, 1, 1, 1))) == 9

# %% [markdown]
# ## The way back: transposed convolution
#
# Some networks have to return to the size of the image, for instance to label each pixel.
# A stride of one half would double the size, and there is an operation that deserves the name.
# A convolution is linear, so it is a matrix that maps images of $n$ pixels to smaller ones; the transpose of this matrix maps back to the larger size.
# It is called *transposed convolution*, and it is the *adjoint* of the convolution with the same kernel:
#
# $$\langle\operatorname{conv}(\mathbf{x}),\mathbf{y}\rangle=\langle\mathbf{x},\operatorname{conv}^\top(\mathbf{y})\rangle \tag{7.3.7}$$
#
# for all inputs $\mathbf{x}$ and all $\mathbf{y}$ of the shape of the output, where $\langle\cdot,\cdot\rangle$ multiplies entry by entry and adds.
# The adjoint restores the shape, not the values; it is no inverse.
# Each entry of $\mathbf{y}$ puts a copy of the kernel, multiplied by this entry, into the result, $s$ pixels further for each step, and overlaps are added.
# Along one axis, for $n$ entries,
#
# $$n^{\mathrm{out}}=(n-1)s-2\,\mathtt{padding}+k, \tag{7.3.8}$$
#
# with the stride $s$, the kernel size $k$ and the `padding` of the convolution that is transposed.
# For $k=s=2$ without padding this is $2n$, so that 8 becomes 16.
# It is an old acquaintance: backpropagation through a convolution computes exactly this.

# %%
# check 7.3-C9: the adjoint, also as computed by autograd; 8 becomes 16
rng = torch.Generator().manual_seed(9)
kernel = torch.randn(1, 1, 2, 2, generator=rng, dtype=f64)
x = torch.randn(1, 1, 16, 16, generator=rng, dtype=f64, requires_grad=True)
y = torch.randn(1, 1, 8, 8, generator=rng, dtype=f64)
forward = F.conv2d(x, kernel, stride=2)            # (1, 1, 8, 8)
back = F.conv_transpose2d(y, kernel, stride=2)     # (1, 1, 16, 16)
assert forward.shape == y.shape and back.shape == x.shape
torch.testing.assert_close((forward * y).sum(), (x * back).sum())
torch.testing.assert_close(torch.autograd.grad(forward, x, y)[0], back)
for k, p, s in ((2, 0, 2), (3, 1, 2), (5, 2, 3), (4, 1, 1)):  # (7.3.8)
    up = nn.ConvTranspose2d(1, 1, k, stride=s, padding=p, dtype=f64)
    assert up(y).shape[-1] == (8 - 1) * s - 2 * p + k

# %% [markdown]
# The rounding in (7.3.6) makes the way back ambiguous: with kernel 3, padding 1 and stride 2 both 7 and 8 pixels become 4, and (7.3.8) returns 7.
# The argument `output_padding=1` of `nn.ConvTranspose2d` chooses 8.
# Transposed convolution returns in the chapter on computer vision.

# %%
assert conv_out(7, 3, 1, 2) == conv_out(8, 3, 1, 2) == 4
up = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
print(tuple(comp_conv2d(up, torch.ones(4, 4)).shape))
up = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1)
print(tuple(comp_conv2d(up, torch.ones(4, 4)).shape))

# %% [markdown]
# ## Summary
#
# - One formula gives every size: $\lfloor(n+2\,\mathtt{padding}-d(k-1)-1)/s\rfloor+1$ for each axis; `padding` counts one side.
# - An odd kernel with `padding` $(k-1)/2$ keeps the size, and each output lies over its input.
# - Same-size zero padding does not use all pixels equally: with a $3\times3$ kernel corners count 4, edges 6, the interior 9.
# - Zeros disturb $(k-1)/2$ more rows with each layer, and even an untrained network gives a part of a pixel's position away.
# - Stride $s$ keeps every $s$-th output and saves a factor $s^2$; what does not fit is cut off at the bottom and at the right.
# - Dilation widens the window at the same number of weights; the transposed convolution restores a shape, not the values.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 7.3-1
#
# A layer has kernel $(3, 5)$, padding $(0, 1)$ and stride $(3, 4)$, and its input is $8\times8$.
# Without any formula, list the rows and columns at which its windows begin, count them, and say which pixels of the image are never read.

# %% [markdown]
# #### Solution 7.3-1

# %% [markdown]
# Downwards the windows cover rows 0-2 and 3-5; the next one would need rows 6-8, and row 8 does not exist.
# To the right there are columns $-1$ to 8 with the padding; the windows cover columns $-1$ to 3 and 3 to 7, and the next one would need column 11.
# This makes $2\times2$ outputs.
# Rows 6 and 7 are never read.
# Automatic differentiation confirms it: the derivative with respect to an unread pixel is 0.

# %%
X1 = torch.ones(1, 1, 8, 8, requires_grad=True)
Y1 = F.conv2d(X1, torch.ones(1, 1, 3, 5), padding=(0, 1), stride=(3, 4))
counts = torch.autograd.grad(Y1.sum(), X1)[0][0, 0]  # (8, 8)
assert Y1.shape[2:] == (2, 2)
assert (conv_out(8, 3, 0, 3), conv_out(8, 5, 1, 4)) == (2, 2)
assert (counts[:6] > 0).all() and (counts[6:] == 0).all()
assert (counts[:6, 3] == 2).all()  # column 3 lies in both windows

# %% [markdown]
# ### Exercise 7.3-2
#
# A sound is stored as 8000 numbers a second.
# What does a convolution with stride 2 mean for it?
# Take the kernel $[1]$ and tones of 1000 and 3000 hertz, and find the frequency that comes out.
# What does the kernel $[\frac12,\frac12]$ improve?

# %% [markdown]
# #### Solution 7.3-2

# %% [markdown]
# Stride 2 keeps every second number, so the new rate is 4000 numbers a second.
# Such a sequence can represent frequencies up to half its rate, 2000 hertz.
# The tone of 1000 hertz survives.
# The tone of 3000 hertz does not fit, and it does not vanish either: it appears as a tone of $4000-3000=1000$ hertz that was never played, which is called *aliasing*.
# The mean of two neighbours is a weak low-pass filter: it multiplies a tone of $f$ hertz by $\cos(\pi f/8000)$, that is 0.92 for 1000 and 0.38 for 3000 hertz.
# The false tone becomes weaker, but only a longer kernel removes it.
# The same happens to fine stripes in images; [Section 7.5](05-pooling.ipynb) returns to it.

# %%
def strongest(tone, kernel):
    """Frequency and amplitude after a stride of 2."""
    t = torch.arange(8001, dtype=f64) / 8000
    x = torch.cos(2 * math.pi * tone * t)[None, None]  # (1, 1, 8001)
    kernel = torch.tensor(kernel, dtype=f64)[None, None]
    y = F.conv1d(x, kernel, stride=2)[0, 0, :4000]  # one second
    spectrum = torch.fft.rfft(y).abs() / 2000
    return spectrum.argmax().item(), spectrum.max().item()


for tone in (1000, 3000):
    plain, blurred = strongest(tone, [1.0]), strongest(tone, [0.5, 0.5])
    print(f"{tone} Hz becomes {plain[0]} Hz; amplitude {plain[1]:.2f}, "
          f"with the mean {blurred[1]:.2f}")
    assert plain[0] == blurred[0] == 1000 and abs(plain[1] - 1) < 1e-9
    assert abs(blurred[1] - math.cos(math.pi * tone / 8000)) < 1e-9

# %% [markdown]
# ### Exercise 7.3-3
#
# Implement mirror padding without `F.pad`: the image is reflected at its last pixel, which is not repeated.
# For which paddings is it defined?

# %% [markdown]
# #### Solution 7.3-3

# %% [markdown]
# Along one axis the output at position $i$, counted from $-p$ to $n+p-1$, is the input at $|i|$ if $i<n$, and at $2(n-1)-i$ beyond.
# One index vector for each axis does it.
# A padding of $n$ or more would need a second reflection, and `F.pad` refuses it, too.

# %%
def mirror(n, p):
    """Indices into 0..n-1 for the positions -p..n+p-1."""
    if not 0 <= p < n:
        raise ValueError(f"padding {p} of {n} pixels; it must be below {n}.")
    i = torch.arange(-p, n + p).abs()
    return torch.minimum(i, 2 * (n - 1) - i)


image = torch.rand(5, 7, generator=torch.Generator().manual_seed(3))
for p in range(5):
    ours = image[mirror(5, p)][:, mirror(7, p)]
    theirs = F.pad(image[None, None], (p,) * 4, mode="reflect")[0, 0]
    assert torch.equal(ours, theirs)
assert size_or_none(lambda: mirror(5, 5), ValueError) is None
assert size_or_none(lambda: F.pad(image[None, None], (5,) * 4,
                                  mode="reflect"), RuntimeError) is None

# %% [markdown]
# ### Exercise 7.3-4
#
# A $3\times3$ layer with padding 1 works on an $n\times n$ image with even $n$.
# What does stride 2 save in multiplications?
# And what does it mean statistically: how similar are the outputs that are dropped to those that are kept?
# Take a kernel of equal weights and an image of independent noise.

# %% [markdown]
# #### Solution 7.3-4

# %% [markdown]
# There are $n^2$ outputs of nine products each at stride 1, $9n^2$ in all, and $n^2/4$ outputs at stride 2, so $9n^2/4$.
# All later layers profit as well: they receive a quarter of the positions, and a dense layer behind needs a quarter of the weights, which can be learned from fewer examples.
#
# Neighbouring windows share 6 of their 9 pixels.
# Each output is a sum of nine independent values, so the correlation of neighbours is $6/9$; at distance 2 it is $3/9$.
# The kept outputs repeat each other less than all outputs did, and this holds already for noise; the pixels of photos are similar to their neighbours, and their outputs even more.

# %%
for n in (8, 32, 224):
    one, two = (9 * conv_out(n, 3, 1, s) ** 2 for s in (1, 2))
    assert one == 9 * n**2 and two == 9 * n**2 // 4
noise = torch.randn(1, 1, 400, 400,
                    generator=torch.Generator().manual_seed(4))
Z = F.conv2d(noise, torch.ones(1, 1, 3, 3))[0, 0]
for shift in (1, 2, 3):
    pair = torch.stack((Z[:, :-shift].flatten(), Z[:, shift:].flatten()))
    r = torch.corrcoef(pair)[0, 1].item()
    print(f"correlation at distance {shift}: {r:.1f}")
    assert abs(r - (3 - shift) / 3) < 0.03

# %% [markdown]
# ### Exercise 7.3-5
#
# What would a stride of $\frac12$ be?
# Find two settings of `nn.ConvTranspose2d` that turn $8\times8$ into $16\times16$.
# Then build the operation from an ordinary convolution: put zeros between the inputs, pad, and convolve.
# Which kernel do you need?

# %% [markdown]
# #### Solution 7.3-5

# %% [markdown]
# The window should move by half a pixel, so there must be something at the half positions.
# Putting a zero between all neighbours turns $n$ into $2n-1$ entries, over which an ordinary convolution with stride 1 moves.
# By (7.3.8), $2(n-1)-2\,\mathtt{padding}+k=2n$ if $k=2+2\,\mathtt{padding}$: kernel 2 with padding 0, or kernel 4 with padding 1.
# In the transposed operation every input *writes* the kernel, starting at its own place; an output that *reads* meets the kernel in reverse order.
# So the kernel has to be flipped on both axes, and the padding is $k-1-\mathtt{padding}$ on each side.

# %%
y = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(5))
for k, p in ((2, 0), (4, 1)):
    layer = nn.ConvTranspose2d(1, 1, k, stride=2, padding=p, bias=False)
    spread = torch.zeros(1, 1, 15, 15)
    spread[..., ::2, ::2] = y
    flipped = layer.weight.detach().flip(2, 3)
    read = F.conv2d(spread, flipped, padding=k - 1 - p)
    assert layer(y).shape[2:] == (16, 16)
    torch.testing.assert_close(layer(y).detach(), read)
    assert conv_out(16, k, p, 2) == 8  # the layer that it transposes

# %% [markdown]
# ### Exercise 7.3-6
#
# Which combinations of kernel size $k$, padding and stride halve *every* even size exactly?
# Derive the condition, then search all $k\le6$ with padding up to 3 and stride up to 4.

# %% [markdown]
# #### Solution 7.3-6

# %% [markdown]
# The output grows by one for each $s$ inputs, so $s=2$.
# For even $n$ (7.3.6) gives $n/2+\lfloor(2\,\mathtt{padding}-k)/2\rfloor+1$, and the rounded part must be $-1$.
# This means $2\,\mathtt{padding}-k\in\{-1,-2\}$: $k$ is $2\,\mathtt{padding}+1$ or $2\,\mathtt{padding}+2$.
# The common choices are kernel 2 without padding, kernel 3 with padding 1, and kernel 4 with padding 1.
# Kernel 1 without padding fulfils the condition, too, but drops three quarters of the pixels unread.

# %%
halving = [(k, p, s)
           for k, p, s in itertools.product(range(1, 7), range(4),
                                            range(1, 5))
           if all(size_or_none(lambda: conv_out(n, k, p, s), ValueError)
                  == n // 2 for n in range(2, 65, 2))]
print(halving)
assert {(2, 0, 2), (3, 1, 2), (4, 1, 2)} <= set(halving)
assert halving == sorted((2 * p + e, p, 2) for p in range(3) for e in (1, 2))

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): topic, notation and the small examples of this section.
# - V. Dumoulin, F. Visin (2016). A guide to convolution arithmetic for deep learning. [arXiv:1603.07285](https://arxiv.org/abs/1603.07285): sizes, dilation and transposed convolution.
# - M. A. Islam, S. Jia, N. D. B. Bruce (2020). How much position information do convolutional neural networks encode? [arXiv:2001.08248](https://arxiv.org/abs/2001.08248).
# - O. S. Kayhan, J. C. van Gemert (2020). On translation invariance in CNNs: convolutional layers can exploit absolute spatial location. [arXiv:2003.07064](https://arxiv.org/abs/2003.07064).
# - B. Alsallakh, N. Kokhlikyan, V. Miglani, J. Yuan, O. Reblitz-Richardson (2021). Mind the pad: CNNs can develop blind spots. [arXiv:2010.02178](https://arxiv.org/abs/2010.02178): unequal use of the padding with strides.
# - F. Yu, V. Koltun (2016). Multi-scale context aggregation by dilated convolutions. [arXiv:1511.07122](https://arxiv.org/abs/1511.07122): growing dilations.
# - PyTorch documentation, [torch.nn.Conv2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html) and [torch.nn.ConvTranspose2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html): the formulas for all shapes.
