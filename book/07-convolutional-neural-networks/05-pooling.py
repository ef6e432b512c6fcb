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
# # 7.5 Pooling
#
# Hold a camera still and press the button twice: the second picture is shifted by a pixel.
# A convolution reports exactly where it saw an edge, so all its outputs move too, although nothing of interest has changed.
# And a classifier must in the end answer one question about the whole image, not one about each pixel.
# *Pooling* replaces small neighbourhoods by a summary.
# This section builds it, measures how much shift it forgives, and shows where it forgives nothing.
#
# **You will**
#
# - implement maximum and average pooling with padding and stride, and predict their output;
# - say exactly which shifts a pooling window tolerates, and with what probability;
# - follow a gradient back through a maximum, also where two values tie;
# - show why pooling with a stride is not equivariant, find the culprit by a control, and repair most of it with a blur.
#
# **Cost**: less than half a minute on a CPU, no use of a GPU; a download of 31 MB, once.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.convolutional_neural_networks import (
    conv_out, corr2d, receptive_field)
from d2l_helpers.chapters.linear_classification import FashionMNIST

d2l.use_style()

# %% [markdown]
# ## Why summarize a neighbourhood
#
# A pooling layer has two purposes.
#
# The first is tolerance.
# Where exactly an edge lies within a window of a few pixels rarely decides what the picture shows.
# A summary of the window that does not depend on the place inside it carries over what matters.
#
# The second is size.
# A summary every two pixels leaves a quarter of the positions, and every layer behind it then costs a quarter.
# At the same time a unit behind it sees a wider part of the image, because one step of its kernel now spans two pixels.
# The functions `receptive_field` of [Section 7.2](02-convolutions.ipynb) and `conv_out` of [Section 7.3](03-padding-and-stride.ipynb) put numbers on both.
# Compare two 5x5 convolutions on a 28x28 image, the first with padding 2, alone and with 2x2 pooling of stride 2 behind each:

# %%
conv1, conv2, pool = (5, 1, 2), (5, 1, 0), (2, 2, 0)  # (k, stride, padding)
bodies = {"without pooling": [conv1, conv2],
          "with pooling": [conv1, pool, conv2, pool]}
seen, work = [], []  # pixels seen, positions of the second convolution
for name, layers in bodies.items():
    n, convolved = 28, []
    for k, stride, padding in layers:
        n = conv_out(n, k, padding, stride)
        convolved += [n * n] if k == 5 else []
    size, jump, _ = receptive_field(layers)
    seen, work = [*seen, size**2], [*work, convolved[1]]
    print(f"{name}: the convolutions have {convolved} positions; "
          f"an output sees {size}x{size} pixels, the next {jump} further")
assert seen[1] > 3 * seen[0] and 5 * work[1] < work[0]

# %% [markdown]
# Pooling lets an output see three times the area and cuts the work of the second convolution to less than a fifth.
# These are the layers of LeNet, which [Section 7.6](06-lenet.ipynb) trains.

# %% [markdown]
# ## Maximum and average
#
# A pooling window slides over its input like the kernel of a cross-correlation.
# At each position it returns one number that summarizes what lies below it.
# *Maximum pooling* returns the largest value,
#
# $$[\mathbf{Y}]_{i,j} = \max_{0\le a<p,\ 0\le b<q}\ [\mathbf{X}]_{i+a,j+b}, \tag{7.5.1}$$
#
# and *average pooling* the mean,
#
# $$[\mathbf{Y}]_{i,j} = \frac{1}{pq}\sum_{a=0}^{p-1}\sum_{b=0}^{q-1}[\mathbf{X}]_{i+a,j+b}. \tag{7.5.2}$$
#
# Here $\mathbf{X}\in\mathbb{R}^{h\times w}$ is the input, $p\times q$ is the size of the window, $(i,j)$ is a position of the output and $(a,b)$ an offset within the window; $\mathbf{Y}\in\mathbb{R}^{(h-p+1)\times(w-q+1)}$ is the output.
# The layer has no parameters: there is nothing to learn in it, and the same input always gives the same output.
#
# ![The 2x2 window at its four positions on the matrix of the numbers 0 to 8. The maxima are 4, 5, 7, 8, the means 2, 3, 5, 6.](img/pool-window.svg)

# %% [markdown]
# **Figure 7.5.1.** A 2x2 window visits four positions of a 3x3 input.
# Each visit yields one number, for example $\max(0,1,3,4)=4$ and $(0+1+3+4)/4=2$.

# %%
def pool2d(X, pool_size, mode="max"):
    """Pool X (h, w) with a window (p, q) that moves by one element.

    `mode` is "max" or "avg"; returns (h - p + 1, w - q + 1).
    """
    if mode not in ("max", "avg"):
        raise ValueError(f"mode is {mode!r}; use 'max' or 'avg'.")
    summary = torch.amax if mode == "max" else torch.mean
    p, q = pool_size
    Y = X.new_zeros(X.shape[0] - p + 1, X.shape[1] - q + 1)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = summary(X[i:i + p, j:j + q])
    return Y

# %% [markdown]
# Apart from the line with `summary` this is `corr2d`.
# PyTorch's layers expect a batch and channel axis in front, and they move the window by its own size unless told otherwise, hence `stride=1`:

# %%
# check 7.5-C1: the windows of the figure, by hand and by PyTorch
X = torch.arange(9.0).reshape(3, 3)
expected = {"max": torch.tensor([[4.0, 5.0], [7.0, 8.0]]),
            "avg": torch.tensor([[2.0, 3.0], [5.0, 6.0]])}
layers = {"max": nn.MaxPool2d(2, stride=1), "avg": nn.AvgPool2d(2, stride=1)}
for mode, Y in expected.items():
    assert torch.equal(pool2d(X, (2, 2), mode), Y)
    assert torch.equal(layers[mode](X[None, None])[0, 0], Y)
try:
    pool2d(X, (2, 2), "mean")
    raise AssertionError("an unknown mode was accepted")
except ValueError as error:
    assert "'mean'" in str(error)

# %% [markdown]
# The next figure does it step by step.
# Follow one large number: while the window covers it, the maximum stays the same.

# %% tags=["hide-input"]
def grid(ax, values, title="", window=None, darkest=None):
    """Draw a matrix as numbers in cells; nan leaves a cell empty.

    `window` = (top, left, height, width) outlines a part of it.
    """
    filled = values.nan_to_num(0)
    darkest = darkest or filled.max().item()
    ax.imshow(filled, cmap="Blues", vmin=0, vmax=2.2 * darkest)
    rows, cols = values.shape
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            if value == value:  # nan is not equal to itself
                ax.text(j, i, f"{value:g}", ha="center", va="center",
                        fontsize=9)
    ax.set_xticks(torch.arange(-0.5, cols).tolist(), labels=[])
    ax.set_yticks(torch.arange(-0.5, rows).tolist(), labels=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=9)
    if window:
        top, left, h, w = window
        ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), w, h, lw=2.5,
                                   fill=False, ec="C1", zorder=3,
                                   clip_on=False))

# %% tags=["hide-input"]
numbers = torch.tensor([[1.0, 3, 2, 0], [4, 9, 5, 1],
                        [2, 6, 8, 3], [0, 7, 1, 2]])


def draw(fig, mode, position):
    left, right = fig.subplots(1, 2, width_ratios=[4, 3])
    i, j = divmod(int(position) - 1, 3)
    seen = numbers[i:i + 2, j:j + 2].flatten()
    Y = pool2d(numbers, (2, 2), "max" if mode == "maximum" else "avg")
    words = [f"{value:g}" for value in seen.tolist()]
    term = (f"max({', '.join(words)})" if mode == "maximum"
            else f"({' + '.join(words)}) / 4")
    after = torch.arange(9).reshape(3, 3) >= position  # not yet visited
    grid(left, numbers, "input", (i, j, 2, 2), darkest=9)
    grid(right, Y.masked_fill(after, torch.nan),
         f"{term} = {Y[i, j].item():g}", (i, j, 1, 1), darkest=9)


d2l.sliders(draw, """Left a 4x4 matrix with the pooling window outlined, right
    the outputs computed so far; its title shows how the newest one is
    computed.""", figsize=(5.0, 2.5), mode=["average", "maximum"],
    position=range(1, 10))

# %% [markdown]
# **Figure 7.5.2.** Move the window and watch the output fill up.
# The 9 is the maximum of four windows; to the average of each it contributes only a quarter of its value.

# %% [markdown]
# ### Which of the two
#
# Maximum pooling has several origins.
# A speech recognizer of 1990 took the maximum over time (Yamaguchi and others), and the Cresceptron of 1992 was among the first networks to take it over patches of an image (Weng, Ahuja and Huang).
# In 1999 Riesenhuber and Poggio proposed it as a model of the visual cortex: a cell that responds like the strongest of its inputs keeps its preferred pattern and gains tolerance for its place.
# Average pooling is the older habit of image processing: to halve a picture, average, because the mean of several pixels with independent noise has less noise than each of them.
#
# Which one helps depends on how much of the window the feature fills.
# Take windows of four values with noise of variance 1.
# If a feature is present, it adds 3, either to all four values or to just one of them.
# The measure is the *separation*: by how many standard deviations the pooled value moves when the feature appears.

# %%
rng = torch.Generator().manual_seed(75)
noise = torch.randn(100_000, 4, generator=rng)  # windows of 4 values
means, separation = {}, {}
for name, summary in (("average", torch.mean), ("maximum", torch.amax)):
    absent = summary(noise, dim=1)
    means[name] = absent.mean().item()
    for places in (4, 1):
        feature = 3.0 * (torch.arange(4) < places)  # (4,)
        present = summary(noise + feature, dim=1)
        spread = ((absent.var() + present.var()) / 2).sqrt()
        gap = ((present.mean() - absent.mean()) / spread).item()
        separation[name, places] = gap
        print(f"{name}, feature in {places} of 4: separation {gap:.1f}")

# %%
assert separation["average", 4] > separation["maximum", 4] + 1
assert separation["maximum", 1] > separation["average", 1] + 0.5
assert abs(separation["average", 4] - 6) < 0.1  # 3 over noise of 1/2
assert abs(means["average"]) < 0.01 and means["maximum"] > 1

# %% [markdown]
# The average wins if the whole window takes part: the noise has half its standard deviation and the signal is all there.
# The maximum wins if one place in the window speaks, since the average dilutes it to a quarter.
# Its own flaw is also visible: without any feature the maximum of noise alone is above 1.
#
# Behind a ReLU, features are often sparse, and in the body of a classification network the maximum usually gives the better accuracy.
# That is experience, not a law.
# Average pooling is the rule at the end of a network, where it summarizes a whole feature map (Section 8.3), and it stands in the body of LeNet and between the blocks of DenseNet (Section 8.7).

# %% [markdown]
# ## Padding and stride
#
# A pooling layer takes padding and stride like a convolution, and its output size obeys the same formula, so `conv_out` computes it.
# Two defaults differ.
# The stride of PyTorch's pooling layers is the size of the window, so that windows tile the input without overlap.
# And what counts as padding depends on the summary:
#
# - Maximum pooling pads with $-\infty$, which never wins. A padded 0 would beat every negative value.
# - Average pooling pads with zeros and counts them, which darkens the border. With `count_include_pad=False` it divides by the number of real elements instead.
#
# With $s_h\times s_w$ the stride and $\tilde{\mathbf{X}}$ the padded input, maximum pooling becomes
#
# $$[\mathbf{Y}]_{i,j} = \max_{0\le a<p,\ 0\le b<q}\ [\tilde{\mathbf{X}}]_{s_hi+a,\ s_wj+b}. \tag{7.5.3}$$

# %%
def pool2d_general(X, size, stride=None, padding=0, mode="max"):
    """Pool X (h, w); `size`, `stride`, `padding` are numbers or pairs.

    The stride defaults to the window. Padding, given per side, is -inf
    for "max" and counted zeros for "avg", as in PyTorch.
    """
    (p, q), (sh, sw), (ph, pw) = [
        v if isinstance(v, tuple) else (v, v)
        for v in (size, size if stride is None else stride, padding)]
    if 2 * ph > p or 2 * pw > q:
        raise ValueError(f"padding {(ph, pw)} is more than half the window "
                         f"{(p, q)}; reduce it.")
    fill = -torch.inf if mode == "max" else 0.0
    padded = F.pad(X, (pw, pw, ph, ph), value=fill)
    Y = pool2d(padded, (p, q), mode)[::sh, ::sw]
    assert Y.shape == (conv_out(X.shape[0], p, ph, sh),
                       conv_out(X.shape[1], q, pw, sw))
    return Y

# %% [markdown]
# The stride is written here as what it is: all positions are computed, then every $s$-th is kept.
# A real implementation skips the others, but this form will explain the trouble at the end of the section.
# Three examples on the numbers 0 to 15:

# %%
X = torch.arange(16.0).reshape(4, 4)
cases = [dict(size=3), dict(size=3, stride=2, padding=1),
         dict(size=(2, 3), stride=(2, 3), padding=(0, 1))]
pooled = [pool2d_general(X, **case) for case in cases]
for case, Y in zip(cases, pooled):
    print(case, "->", Y.tolist())

# %%
# check 7.5-C2: window 3 fits once into 4; two ways to the same 2x2
by_torch = [nn.MaxPool2d(3), nn.MaxPool2d(3, padding=1, stride=2),
            nn.MaxPool2d((2, 3), stride=(2, 3), padding=(0, 1))]
corner = torch.tensor([[5.0, 7.0], [13.0, 15.0]])
expected = [torch.tensor([[10.0]]), corner, corner]
for Y, layer, Y_exp in zip(pooled, by_torch, expected, strict=True):
    assert torch.equal(Y, Y_exp)
    assert torch.equal(layer(X[None, None])[0, 0], Y_exp)

# %% [markdown]
# Those inputs are not negative, so they cannot tell $-\infty$ from 0.
# The following ones can.
# With $-\mathbf{X}-1$ all values are negative: zeros as padding would give zeros along the border.
# And the average of an image of ones shows how many real elements each window holds: 4, 6 or 9 of 9.

# %%
# check 7.5-C4: max pads with -inf; average counts zeros unless told
window = dict(kernel_size=3, padding=1, stride=2)
negative = torch.tensor([[-1.0, -2.0], [-5.0, -6.0]])
assert torch.equal(F.max_pool2d((-X - 1)[None, None], **window)[0, 0],
                   negative)
assert torch.equal(pool2d_general(-X - 1, 3, 2, 1), negative)
ones = torch.ones(1, 1, 4, 4)
share = torch.tensor([[4.0, 6.0], [6.0, 9.0]]) / 9
torch.testing.assert_close(F.avg_pool2d(ones, **window)[0, 0], share)
torch.testing.assert_close(
    pool2d_general(ones[0, 0], 3, 2, 1, "avg"), share)
honest = F.avg_pool2d(ones, **window, count_include_pad=False)
assert (honest == 1).all()

# %% [markdown]
# Two more rules.
# PyTorch refuses a padding of more than half the window.
# That is stricter than it need be: only with a padding as large as the window could a window lie in the padding alone, and its maximum be $-\infty$.
# If the stride does not divide the remaining length, the rest at the border is dropped; `ceil_mode=True` rounds the output size up and lets the last window hang over the edge.

# %%
# check 7.5-C7: padding at most half the window; floor or ceil
row = torch.arange(6.0)[None, None]  # (1, 1, 6)
try:
    F.max_pool1d(row, 3, padding=2)
except RuntimeError:
    print("window 3 refuses padding 2")
else:
    raise AssertionError("padding 2 with window 3 was accepted")
for padding in ((2, 0), (0, 2)):  # ours refuses it, too, on either axis
    try:
        pool2d_general(X, 3, padding=padding)
        raise AssertionError(f"padding {padding} was accepted")
    except ValueError as error:
        assert "more than half" in str(error)
assert torch.equal(pool2d_general(X, 2, padding=1),  # half is allowed
                   F.max_pool2d(X[None], 2, padding=1)[0])
for p, lost in ((2, False), (3, True)):  # what it would have computed
    padded = F.pad(row[0], (p, p), value=-torch.inf)  # (1, 6 + 2 * p)
    assert pool2d(padded, (1, 3)).isinf().any() == lost
floor = F.max_pool1d(row, 3, stride=2)
ceil = F.max_pool1d(row, 3, stride=2, ceil_mode=True)
assert floor.flatten().tolist() == [2, 4] and conv_out(6, 3, 0, 2) == 2
assert ceil.flatten().tolist() == [2, 4, 5]

# %% [markdown]
# ## Multiple channels
#
# A convolution adds over its input channels.
# Pooling does not: it treats each channel separately, and the number of channels stays.
# To add detectors of different features before asking where they responded would mix what should be told apart.

# %%
# check 7.5-C3: two channels in, two channels out
X2 = torch.stack((X, X + 1))[None]  # (1, 2, 4, 4)
Y2 = nn.MaxPool2d(3, padding=1, stride=2)(X2)  # (1, 2, 2, 2)
own = torch.stack([pool2d_general(channel, 3, 2, 1) for channel in X2[0]])
assert Y2.shape == (1, 2, 2, 2) and torch.equal(own, Y2[0])
assert torch.equal(Y2[0, 0], corner)
assert torch.equal(Y2[0, 1], torch.tensor([[6.0, 8.0], [14.0, 16.0]]))

# %% [markdown]
# ## How much shift is forgiven
#
# Return to the camera.
# An image is bright on the left and dark on the right, and the kernel $[1,-1]$ of [Section 7.2](02-convolutions.ipynb) marks the edge.
# Then the image moves by one pixel, the mark moves by one pixel too, and not a single marked position remains.
# 2x2 maximum pooling with stride 1 widens each mark to two columns, and one of them is common to both pictures.

# %%
edge = torch.zeros(4, 8)
edge[:, :4] = 1
moved = torch.zeros(4, 8)
moved[:, :5] = 1
K = torch.tensor([[1.0, -1.0]])
response = [corr2d(image, K) for image in (edge, moved)]  # (4, 7) each
widened = [pool2d(Y, (2, 2)) for Y in response]  # (3, 6) each

# %%
# check 7.5-C10: pooled responses overlap, the plain ones do not
columns = [[set(Y[0].nonzero().flatten().tolist()) for Y in pair]
           for pair in (response, widened)]
assert columns == [[{3}, {4}], [{2, 3}, {3, 4}]]
assert columns[0][0].isdisjoint(columns[0][1])
assert columns[1][0] & columns[1][1] == {3}

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 3, figsize=(6.4, 2.7),
                         width_ratios=[8, 7, 6])
for k, (name, image) in enumerate((("image", edge), ("moved", moved))):
    grid(axes[k, 0], image, name)
    grid(axes[k, 1], response[k], "edge response")
    grid(axes[k, 2], widened[k], "pooled", (0, 3, 3, 1))
d2l.describe(axes, """Upper row: an image, its edge response in column 3 and
    the pooled response in columns 2 and 3. Lower row: the image moved by one
    pixel, with responses in column 4 and in columns 3 and 4. Column 3 of the
    pooled responses is outlined in both rows.""")

# %% [markdown]
# **Figure 7.5.3.** A one-pixel shift moves the edge response to a new column (middle).
# After pooling, the outlined column reports the edge in both cases (right).

# %% [markdown]
# How far does this go?
# Let a single response sit at a random place, and let it move by $t$ pixels along one axis.
# With windows that tile this axis in steps of $p$, the output stays exactly the same if the response does not leave its window.
# Of its $p$ possible places in the window, $p-t$ allow that, so
#
# $$P(\text{output unchanged}) = \max\left(0,\ 1-\frac tp\right), \tag{7.5.4}$$
#
# where $p$ is the width of the window, which is also the stride, and $t\ge0$ is the shift, both in pixels.
# For 2x2 windows and one pixel this is $\frac12$, and for a diagonal shift, where both axes must agree, $\frac14$.
# Several layers of maximum pooling directly behind each other act like one with a larger window, because a maximum of maxima is the maximum of all: $\ell$ layers of window 2 forgive like one of $p=2^\ell$.

# %%
places = torch.eye(64)[:, None]  # 64 signals, one response each
shifts = torch.arange(10)
unchanged = []
for layers in (1, 2, 3):
    pool = nn.Sequential(*[nn.MaxPool1d(2) for _ in range(layers)])
    assert torch.equal(pool(places), F.max_pool1d(places, 2**layers))
    same = [(pool(places) == pool(places.roll(t, dims=-1))).all(dim=-1)
            for t in shifts.tolist()]
    unchanged.append(torch.stack(same).float().mean(dim=(1, 2)))  # (10,)
    torch.testing.assert_close(
        unchanged[-1], (1 - shifts / 2**layers).clamp(min=0))

# %%
ax = d2l.plot(shifts, unchanged, ["1 layer", "2 layers", "3 layers"],
              fmts=("o-", "s--", "^-."), xlabel="shift in pixels",
              ylabel="output unchanged (share)")
d2l.describe(ax, """Three falling straight lines from 1 at shift 0: with one
    layer of pooling to 0 at shift 2, with two layers at 4, with three layers
    at 8.""")

# %% [markdown]
# **Figure 7.5.4.** Share of places from which a single response can move without any effect on the output, for one to three layers of 2x2 maximum pooling with stride 2.
# Tolerance grows in proportion to the window; it is never complete for a shift that is not 0.

# %% [markdown]
# So pooling gives *tolerance* of small shifts, not *invariance*.
# [Section 7.1](01-from-dense-to-convolution.ipynb) drew the line between the two words: a function is invariant if no shift changes its output.
# Only one window is wide enough for that, the window that covers everything.

# %% [markdown]
# ## Gradients
#
# Pooling has no parameters, but training must pass gradients through it to the layers below.
# A change of the average's inputs reaches the output with weight $1/(pq)$, so the gradient is spread evenly.
# The maximum depends on one input only: it sends the whole gradient to the winner and nothing to the others.

# %%
def input_gradient(pool, X):
    """Gradient of the sum of pool(X) with respect to X (h, w)."""
    X = X.clone().requires_grad_()
    pool(X[None, None]).sum().backward()
    return X.grad


by_mode = [input_gradient(layer, numbers)
           for layer in (nn.MaxPool2d(2), nn.AvgPool2d(2))]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.3))
for ax, values, title in zip(axes, (numbers, *by_mode), (
        "input", "gradient, maximum", "gradient, average")):
    grid(ax, values, title, darkest=9 if title == "input" else 1)
    for top, left in ((0, 0), (0, 2), (2, 0), (2, 2)):
        ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), 2, 2, lw=1.5,
                                   fill=False, ec="C1", clip_on=False))
d2l.describe(axes, """A 4x4 matrix divided into four 2x2 windows; the gradient
    of maximum pooling is 1 at the largest entry of each window and 0
    elsewhere; that of average pooling is 0.25 everywhere.""")

# %% [markdown]
# **Figure 7.5.5.** Where the gradient goes.
# Maximum pooling trains the strongest response of each window, average pooling all of them alike.

# %% [markdown]
# If several inputs share the maximum, the maximum has no derivative there, and a convention decides.
# PyTorch's pooling layers remember the index of the first winner in reading order.
# The reduction `amax` divides the gradient among all winners.
# Ties are common: behind a ReLU whole windows are 0.

# %%
# check 7.5-C6: the first winner takes all, or all winners share
tie = torch.full((2, 2), 7.0)
first = input_gradient(lambda X: F.max_pool2d(X, 2), tie)
shared = input_gradient(lambda X: X.amax(dim=(2, 3)), tie)
assert first.flatten().tolist() == [1, 0, 0, 0]
assert shared.flatten().tolist() == [0.25] * 4
rng = torch.Generator().manual_seed(6)
for X4 in (numbers, torch.zeros(4, 4), torch.randn(4, 4, generator=rng)):
    gradient = input_gradient(nn.MaxPool2d(2), X4)
    assert gradient.count_nonzero() == 4 and gradient.sum() == 4

# %% [markdown]
# ## Pooling in terms of other layers
#
# Average pooling is linear, so it must be a convolution: one whose kernel holds $1/(pq)$ everywhere and which never mixes channels, a depthwise convolution in the words of [Section 7.4](04-channels.ipynb).
# Maximum pooling is not linear, and no convolution computes it (Exercise 7.5-2).
# With a ReLU it can be written, since
#
# $$\max(a,b) = \operatorname{ReLU}(a-b)+b \tag{7.5.5}$$
#
# for any two numbers $a$ and $b$: if $a$ is larger, the ReLU adds the difference, otherwise nothing.
# Minimum pooling needs no layer of its own, because the smallest value is minus the largest of the negatives.

# %%
# check 7.5-C5: average = depthwise convolution; ReLU makes a maximum
rng = torch.Generator().manual_seed(5)
Z = torch.randn(2, 3, 8, 8, generator=rng)
for k in (2, 3):
    kernel = torch.full((3, 1, k, k), 1 / k**2)  # one kernel a channel
    torch.testing.assert_close(
        F.conv2d(Z, kernel, stride=k, groups=3), F.avg_pool2d(Z, k))
a, b = Z[0], Z[1]
torch.testing.assert_close(F.relu(a - b) + b, torch.maximum(a, b))
windows = Z.unfold(2, 2, 2).unfold(3, 2, 2)  # (2, 3, 4, 4, 2, 2)
assert torch.equal(-F.max_pool2d(-Z, 2), windows.amin(dim=(4, 5)))

# %% [markdown]
# ## Variants
#
# ### Stochastic pooling
#
# Between average and maximum lies a random choice.
# *Stochastic pooling* draws one of the values of each window, large ones more often.
# For values $x_1,\dots,x_n\ge0$, such as a ReLU leaves them, it returns $x_k$ with probability
#
# $$P(k) = \frac{x_k}{\sum_{l=1}^nx_l},\qquad\text{so that}\qquad E[Y] = \frac{\sum_{k=1}^nx_k^2}{\sum_{k=1}^nx_k} = \bar x+\frac{\sigma^2}{\bar x}, \tag{7.5.6}$$
#
# where $n=pq$ is the number of values in the window, $Y$ is the output, and $\bar x$ and $\sigma^2$ are mean and variance of the $n$ values.
# The last form shows that the expectation is never below the mean, and of course it is never above the maximum.
# Zeiler and Fergus proposed its noise as a regularizer, like that of dropout ([Section 5.6](../05-multilayer-perceptrons/06-dropout.ipynb)).
# At prediction time the draw is replaced by its expectation.
#
# To draw in proportion to the values, lay them end to end as intervals and throw a point $u$ onto the whole length.
# The number of intervals that end before the point is the index of the one it hit:

# %%
def stochastic_pool2d(X, size, generator=None):
    """One random value of each size x size tile of X (h, w), X >= 0.

    A value is drawn in proportion to itself; a tile of zeros gives 0.
    """
    if (X < 0).any():
        raise ValueError("stochastic pooling needs values of at least 0; "
                         "apply a ReLU first.")
    tiles = X.unfold(0, size, size).unfold(1, size, size)
    h, w = tiles.shape[:2]
    tiles = tiles.reshape(h * w, size**2)
    sums = tiles.cumsum(dim=1)  # (h * w, size**2)
    u = torch.rand(h * w, 1, generator=generator, device=X.device)
    chosen = (sums <= u * sums[:, -1:]).sum(dim=1, keepdim=True)
    chosen = chosen.clamp(max=size**2 - 1)  # a tile of zeros
    return tiles.gather(1, chosen).reshape(h, w)

# %%
# check 7.5-C9: expectation 3.25 for the window (0, 1, 3, 4)
rng = torch.Generator().manual_seed(9)
tile = torch.tensor([[0.0, 1.0], [3.0, 4.0]])
draws = stochastic_pool2d(tile.repeat(200, 200), 2, rng)  # (200, 200)
expectation = ((tile**2).sum() / tile.sum()).item()
assert expectation == 3.25 and tile.mean() < 3.25 < tile.max()
assert expectation == tile.mean() + tile.var(correction=0) / tile.mean()
assert set(draws.unique().tolist()) == {1, 3, 4}  # never the 0
assert (stochastic_pool2d(torch.zeros(4, 4), 2, rng) == 0).all()
again = stochastic_pool2d(tile.repeat(200, 200), 2, rng.manual_seed(9))
assert torch.equal(again, draws)  # the generator decides
assert abs((draws == 4).float().mean().item() - 4 / 8) < 0.015
try:
    stochastic_pool2d(-tile, 2)
    raise AssertionError("negative values were accepted")
except ValueError as error:
    assert "at least 0" in str(error)
assert abs(draws.mean().item() - 3.25) < 0.03  # 6 standard errors

# %% [markdown]
# To see the three side by side we take a bag from Fashion-MNIST and filter it with the Sobel kernels of [Section 7.2](02-convolutions.ipynb), across and down.
# The length of the two responses is a map that is bright at edges of every direction.

# %%
data = FashionMNIST()
bag = data.X_val[data.y_val == 8][1, 0]  # (28, 28)
sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
across, down = corr2d(bag, sobel), corr2d(bag, sobel.T)
feature_map = (across**2 + down**2).sqrt()  # (26, 26)
feature_map = feature_map / feature_map.max()
rng = torch.Generator().manual_seed(7)
maps = {"maximum": pool2d_general(feature_map, 2),
        "average": pool2d_general(feature_map, 2, mode="avg"),
        "stochastic": stochastic_pool2d(feature_map, 2, rng)}

# %%
torch.testing.assert_close(maps["average"].mean(), feature_map.mean())
assert (maps["average"] <= maps["maximum"]).all()
assert (maps["stochastic"] <= maps["maximum"]).all()
assert (maps["stochastic"].mean() > maps["average"].mean())
for name, Y in maps.items():
    assert Y.shape == (13, 13), name

# %%
axes = d2l.show_images([bag, feature_map, *maps.values()], 1, 5,
                       ["image", "feature map", *maps], scale=1.3)
d2l.describe(axes, """A handbag, the map of its edges, and this map at half the
    resolution: bright and thick lines with the maximum, dim ones with the
    average, bright but ragged ones with stochastic pooling.""")

# %% [markdown]
# **Figure 7.5.6.** One feature map, 26x26, under three kinds of 2x2 pooling with stride 2, all on one scale of grey.
# The maximum thickens and keeps the brightness, the average fades thin lines, the random choice leaves them ragged.

# %% [markdown]
# ### Global and adaptive pooling
#
# If the window covers the whole map, one number for each channel remains.
# *Global average pooling* is the usual step from a convolutional body to a classifier, because it accepts images of every size and adds no parameters.
# PyTorch writes it as `nn.AdaptiveAvgPool2d(1)`.
# *Adaptive pooling* turns the question round: it is given the output size and chooses the windows accordingly (Exercise 7.5-6).
#
# Behind a convolution that wraps around the border, the average over all positions is invariant under circular shifts, exactly as [Section 7.1](01-from-dense-to-convolution.ipynb) promised.

# %%
head = nn.AdaptiveAvgPool2d(1)
torch.manual_seed(5)
wrap = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
zero = nn.Conv2d(3, 4, 3, padding=1)  # the control: a border of zeros
for size in (7, 12):
    Z = torch.randn(2, 3, size, size, generator=rng)
    assert head(Z).shape == (2, 3, 1, 1)
    torch.testing.assert_close(head(Z)[:, :, 0, 0], Z.mean(dim=(2, 3)))
    rolled = Z.roll((2, 5), dims=(2, 3))
    change = [(head(conv(rolled).relu()) - head(conv(Z).relu())).abs().max()
              for conv in (wrap, zero)]
    assert change[0] < 1e-6 and change[1] > 1e-3

# %% [markdown]
# ### Other ways to lower the resolution
#
# A *strided convolution* downsamples with weights that are learned; it can replace pooling altogether, at the price of parameters.
# *Fractional maximum pooling* shrinks the map by a factor between 1 and 2, with windows whose borders are drawn at random, so that a network can be deeper before its maps run out.
# *Attention pooling* computes a weighted mean whose weights depend on the content; chapter 11 builds on it.

# %%
Z = torch.randn(1, 8, 24, 24, generator=rng)
ways = {"maximum": nn.MaxPool2d(2),
        "strided convolution": nn.Conv2d(8, 8, 2, stride=2),
        "fractional maximum": nn.FractionalMaxPool2d(2, output_ratio=0.7)}
for name, layer in ways.items():
    count = sum(p.numel() for p in layer.parameters())
    print(f"{name}: {tuple(layer(Z).shape)}, {count} parameters")

# %% [markdown]
# ## Where pooling fails: aliasing
#
# It is often said that pooling makes a network invariant to shifts.
# The opposite can happen.
# `pool2d_general` shows why: pooling with stride 2 is pooling with stride 1, which moves along with its input, followed by throwing away every second value.
# *Which* values are thrown away depends on where the image happens to lie on the grid.
# Look at a signal of period 4 and at the same signal one step later:

# %%
signal = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1])
shifted = signal.roll(-1)
for x in (signal, shifted):
    print(x.tolist(), "->", F.max_pool1d(x[None, None], 2).flatten().tolist())

# %% [markdown]
# The first output alternates, the second is constant.
# No shift of the one gives the other: maximum pooling with a stride is neither invariant nor equivariant.
# Signal processing calls the cause *aliasing*: every second value suffices only for waves that are longer than four values.
# The maxima at stride 1 are 0, 1, 1, 1 in turn and contain waves of length 4 and 2; what the sampling makes of those depends on their phase.
# The cure is as old as the theory: weaken the short waves before sampling.
# *Blur pooling* does so between the two steps.
# With $m_i$ the maxima at stride 1, it returns
#
# $$y_i = \frac14m_{2i-1}+\frac12m_{2i}+\frac14m_{2i+1}. \tag{7.5.7}$$
#
# Here $m_i$ and $y_i$ are numbers, and there are half as many $y_i$ as $m_i$.
# Each maximum now reaches some output with a total weight of $\frac12$, whether its index is even or odd.
# The version below wraps around at the ends, so that a shift loses nothing there.

# %%
def blur(x, dim=-1):
    """Weights 1/4, 1/2, 1/4 along one axis, wrapping around."""
    return (x.roll(1, dim) + 2 * x + x.roll(-1, dim)) / 4


def blur_pool1d(x):
    """Max of 2, blur, every second value: x (..., n) -> (..., n / 2)."""
    dense = torch.maximum(x, x.roll(-1, -1))  # stride 1
    return blur(dense)[..., ::2]

# %%
# check 7.5-C8: blurring cuts the change by a shift from 1 to 1/4
plain = [F.max_pool1d(x[None, None], 2).flatten() for x in (signal, shifted)]
soft = [blur_pool1d(x) for x in (signal, shifted)]
assert plain[0].tolist() == [0, 1, 0, 1] and (plain[1] == 1).all()
assert soft[0].tolist() == [0.5, 1, 0.5, 1] and (soft[1] == 0.75).all()
assert (plain[0] - plain[1]).abs().max() == 1
assert (soft[0] - soft[1]).abs().max() == 0.25
assert soft[0].mean() == soft[1].mean()  # and plain differs: 1/2, 1
assert plain[0].mean() == 0.5 and plain[1].mean() == 1

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.4), sharey=True)
for k, (pair, title) in enumerate((((signal, shifted), "input"),
                                   (plain, "maximum, stride 2"),
                                   (soft, "blur pooling"))):
    for values, fmt, name in zip(pair, ("o-", "s--"), ("signal", "shifted")):
        axes[k].plot(values, fmt, ms=5, label=name)
    axes[k].set(title=title, xlabel="position", ylim=(-0.08, 1.35))
axes[0].set_ylabel("value")
axes[0].legend(ncols=2, loc="upper center", columnspacing=1, handlelength=1.5)
d2l.describe(axes, """Left: a signal with values 0, 0, 1, 1 and the same
    shifted by one. Middle: after maximum pooling the first alternates between
    0 and 1, the second is 1 throughout. Right: after blur pooling the first
    alternates between 0.5 and 1, the second is 0.75.""")

# %% [markdown]
# **Figure 7.5.7.** A one-pixel shift before and after pooling.
# With a plain maximum the output changes by up to 1 and its mean doubles; with blur pooling it changes by at most $\frac14$ and its mean stays.

# %% [markdown]
# Does this matter for images?
# We pass garments through three convolutions with random kernels, each followed by a ReLU and a pooling layer, and end with global average pooling.
# All convolutions wrap around.
# At stride 1 the 16 resulting features cannot depend on a circular shift at all, so every change is the work of the stride.
# Is the maximum to blame, too?
# As a control we also leave it out and only keep every second row and column.
# The unit of the measurement is the mean distance between the features of two different garments.

# %%
def dense_max(X):
    """2x2 maximum at stride 1, wrapping around; X (n, c, h, w)."""
    X = torch.maximum(X, X.roll(-1, -1))
    return torch.maximum(X, X.roll(-1, -2))


def blur_pool2d(X):
    """dense_max, blur along both axes, every second row and column."""
    return blur(blur(dense_max(X), -1), -2)[..., ::2, ::2]


def features(X, pool, kernels):
    """Convolution, ReLU and pooling for each kernel, then the mean."""
    for K in kernels:
        X = pool(F.relu(F.conv2d(F.pad(X, (1, 1, 1, 1), "circular"), K)))
    return X.mean(dim=(2, 3))  # (n, c)

# %%
garments = F.pad(data.X_val[:50], (2, 2, 2, 2))  # (50, 1, 32, 32)
rng = torch.Generator().manual_seed(3)
nets = [[torch.randn(16, c, 3, 3, generator=rng) * (2 / (9 * c)) ** 0.5
         for c in (1, 16, 16)] for _ in range(3)]
pools = {"maximum": nn.MaxPool2d(2), "average": nn.AvgPool2d(2),
         "blur pooling": blur_pool2d, "stride 1": dense_max,
         "stride alone": lambda X: X[..., ::2, ::2]}


def sensitivity(pool, kernels):
    """Relative change of the features for shifts by 0 to 10 pixels."""
    shift = [features(garments.roll(t, -1), pool, kernels)
             for t in range(11)]
    change = [torch.linalg.vector_norm(f - shift[0], dim=1).mean()
              for f in shift]
    change = torch.stack(change) / torch.pdist(shift[0]).mean()
    return change.round(decimals=5)  # without rounding errors of 1e-7

with torch.inference_mode():
    curves = {name: torch.stack([sensitivity(pool, K) for K in nets])
              for name, pool in pools.items()}  # (3 nets, 11 shifts) each

# %%
# the ratio holds for the real images and for the stand-in
blurred, peaked = curves["blur pooling"], curves["maximum"]
for calm in (blurred, curves["average"]):
    assert (peaked.amax(dim=1) > 3 * calm.amax(dim=1)).all()
    assert (calm[:, 4] < 1e-4).all()
assert (peaked[:, 1:8] > 0.05).all()
assert not torch.equal(peaked[0], peaked[1])  # three different networks
one = features(garments, nn.Identity(), nets[0][:1])  # means of a ReLU
assert (one >= 0).all() and one.shape == (50, 16)
bare = curves["stride alone"]  # without the maximum it is even worse
assert (bare[:, 1:8] > peaked[:, 1:8]).all() or data.source != "real"
for curve in curves.values():  # 8 = 2 * 2 * 2 pixels: back on the grid
    assert (curve[:, 8] < 1e-4).all()
assert (curves["stride 1"] < 1e-4).all()

# %%
ax = d2l.plot(range(11), [c.mean(dim=0) for c in curves.values()],
              list(curves), fmts=("o-", "s--", "^-.", ":", "D-"),
              xlabel="shift in pixels", ylabel="change of the features")
ax.set_ylim(-0.02, 0.68)
ax.legend(fontsize=8, ncols=3, loc="upper center")
d2l.describe(ax, """With a stride alone the change rises at a shift of one
    pixel, stays high up to seven pixels, and is zero again at eight. With
    maximum pooling it is about half as high, and zero at the same shifts.
    With average and with blur pooling it is several times lower still and zero
    at four, too. With stride 1 it is zero everywhere.""")

# %% [markdown]
# **Figure 7.5.8.** How much the features of a garment change when it moves, relative to the distance between two garments; mean over 50 garments and three networks with random kernels.
# Three layers of stride 2 sample every eighth pixel, so with the maximum or with the stride alone the change vanishes at a shift of 8 and not before.

# %% [markdown]
# A single pixel moves the features under maximum pooling by a sizeable part of the way to another garment.
# The stride alone does so even more: here the maximum is not the culprit, it softens the effect, but not enough.
# Blurring before sampling removes most of it.
# Average pooling, which is itself a blur followed by a stride, does about as well; that is another argument in its favour.
# (Both come back already at a shift of 4: the mean of their last outputs is the mean of all values before the last averaging or blur, so the last stride does no harm.)
# Training on shifted images helps as well, but Azulay and Weiss (2018) found that the tolerance so learned holds only for images much like those of the training set.
# [Section 7.6](06-lenet.ipynb) measures what shifts do to the accuracy of trained networks, and Section 8.6 returns to strides that skip pixels.

# %% [markdown]
# ## Summary
#
# - Pooling slides a window and returns its maximum or its mean, for each channel separately and without parameters; with stride 2 it leaves a quarter of the positions and doubles the step of all later kernels.
# - The default stride is the window; maximum pooling pads with $-\infty$, average pooling counts its padded zeros unless told otherwise.
# - A response that moves by $t$ leaves the output of $p$-wide tiles unchanged from a share $1-t/p$ of its places: tolerance, not invariance, which only global pooling gives.
# - The gradient of a maximum goes to the first winner alone, that of a mean to all inputs in equal parts.
# - The maximum suits sparse features, the mean dense ones in noise; stochastic pooling lies between.
# - A stride aliases, with a maximum before it or without, so a one-pixel shift can change everything; a blur before the stride removes most of that.

# %% [markdown]
# ## Exercises
#
# ### Exercise 7.5-1
#
# Write 2x2 average pooling with stride 2 as an `nn.Conv2d` with 3 input channels, without groups.
# How many of its weights are zero, and why does PyTorch's layer not work like this?

# %% [markdown]
# #### Solution 7.5-1

# %% [markdown]
# The kernel from channel $c$ to channel $d$ is $\frac14$ everywhere if $c=d$ and zero otherwise.
# Of the $3\cdot3\cdot4=36$ weights, 12 are nonzero: two thirds of the multiplications are wasted, and with $c$ channels the share is $1-1/c$.
# The depthwise form of check C5 avoids the zeros, and a pooling layer also avoids the multiplications, since it adds first and divides once.

# %%
layer = nn.Conv2d(3, 3, 2, stride=2, bias=False)
with torch.no_grad():
    layer.weight.copy_(torch.eye(3)[:, :, None, None] / 4)
rng = torch.Generator().manual_seed(1)
Z = torch.randn(2, 3, 8, 8, generator=rng)
torch.testing.assert_close(layer(Z), F.avg_pool2d(Z, 2))
assert (layer.weight == 0).sum() == 24

# %% [markdown]
# ### Exercise 7.5-2
#
# Prove that no convolution, with or without bias, computes maximum pooling.

# %% [markdown]
# #### Solution 7.5-2

# %% [markdown]
# A convolution without bias is linear, so $f(\mathbf{x}+\mathbf{y})=f(\mathbf{x})+f(\mathbf{y})$.
# Two windows of two values refute it: $\max(1,0)+\max(0,1)=2$, but the sum of the windows is $(1,1)$, with maximum 1.
# A bias $u$ must be 0, because the maximum of zeros is 0.
# Thus no convolution will do.
# What remains of linearity is $\max(s\mathbf{x})=s\max(\mathbf{x})$ for factors $s\ge0$, and $\max(\mathbf{x}+\mathbf{y})\le\max(\mathbf{x})+\max(\mathbf{y})$.

# %%
def pool_pair(x):
    return F.max_pool1d(x[None], 2).item()


x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
assert pool_pair(x) + pool_pair(y) == 2 and pool_pair(x + y) == 1
assert pool_pair(torch.zeros(2)) == 0
assert pool_pair(3 * x) == 3 * pool_pair(x)
assert pool_pair(-3 * x) != -3 * pool_pair(x)

# %% [markdown]
# ### Exercise 7.5-3
#
# Build 2x2 maximum pooling with stride 2 for one channel from convolutions and ReLU only.
# It must also be right for negative inputs.

# %% [markdown]
# #### Solution 7.5-3

# %% [markdown]
# By (7.5.5) the maximum of a pair is $\operatorname{ReLU}(a-b)+b$.
# The term $b$ must pass the ReLU unharmed although it may be negative, which takes two channels: $b=\operatorname{ReLU}(b)-\operatorname{ReLU}(-b)$.
# So a convolution computes $(a-b,\,b,\,-b)$, a ReLU follows, and a 1x1 convolution with the weights $(1,1,-1)$ adds up.
# Applied to horizontal pairs and then to vertical pairs of the results, this gives the maximum of four.

# %%
def pair_max(vertical):
    """Maximum of neighbouring pairs along one axis, stride 2."""
    shape = (2, 1) if vertical else (1, 2)
    split = nn.Conv2d(1, 3, shape, stride=shape, bias=False)
    merge = nn.Conv2d(3, 1, 1, bias=False)
    pairs = torch.tensor([[1.0, -1.0], [0.0, 1.0], [0.0, -1.0]])
    with torch.no_grad():
        split.weight.copy_(pairs.reshape(split.weight.shape))
        merge.weight.copy_(torch.tensor([1.0, 1, -1]).reshape(1, 3, 1, 1))
    return nn.Sequential(split, nn.ReLU(), merge)

# %%
net = nn.Sequential(pair_max(vertical=False), pair_max(vertical=True))
rng = torch.Generator().manual_seed(3)
Z = torch.randn(4, 1, 10, 10, generator=rng) - 0.5
torch.testing.assert_close(net(Z), F.max_pool2d(Z, 2))
assert (net(Z) < 0).any()

# %% [markdown]
# ### Exercise 7.5-4
#
# What does maximum pooling of an input $c\times h\times w$ with a window $p\times q$ cost, counted in comparisons?
# For stride 1 and a large window, find a way that needs far fewer.

# %% [markdown]
# #### Solution 7.5-4

# %% [markdown]
# The largest of $n$ values takes $n-1$ comparisons.
# With $h'\times w'$ the size of the output these are $c\,h'w'(pq-1)$.
# A 2x2 window with stride 2 needs $\frac34$ of a comparison for each input value: next to a convolution it is free.
#
# With stride 1, neighbouring windows overlap and share work.
# Take the maximum of each row section of length $q$ first, then the maximum over $p$ of these results: about $p+q-2$ comparisons per output instead of $pq-1$.
# The program counts by comparing numbers that count.

# %%
class Counted(float):
    """A number that counts how often it is compared."""
    count = 0

    def __gt__(self, other):
        Counted.count += 1
        return float(self) > float(other)


def counted_pool(X, p, q, stride):
    """Maximum pooling of nested lists (c, h, w) of `Counted`."""
    rows = range(0, len(X[0]) - p + 1, stride)
    cols = range(0, len(X[0][0]) - q + 1, stride)
    return [[[max(X[k][i + a][j + b] for a in range(p) for b in range(q))
              for j in cols] for i in rows] for k in range(len(X))]

# %%
def count(X, windows, stride):
    """Comparisons of poolings that follow one another, and the result."""
    X = [[[Counted(v) for v in row] for row in m] for m in X.tolist()]
    Counted.count = 0
    for p, q in windows:
        X = counted_pool(X, p, q, stride)
    return Counted.count, torch.tensor(X)


rng = torch.Generator().manual_seed(4)
Z = torch.randn(3, 12, 12, generator=rng)
for p, stride in ((2, 2), (3, 2), (3, 1)):
    n, Y = count(Z, [(p, p)], stride)
    torch.testing.assert_close(Y, F.max_pool2d(Z, p, stride))
    assert n == 3 * conv_out(12, p, 0, stride)**2 * (p * p - 1)
direct, by_axes = (count(Z, windows, 1)
                   for windows in ([(5, 5)], [(1, 5), (5, 1)]))
assert torch.equal(direct[1], by_axes[1])
assert direct[0] == 3 * 8 * 8 * 24
assert by_axes[0] == 3 * (12 * 8 * 4 + 8 * 8 * 4)
print(f"5x5, stride 1: {direct[0]} comparisons, by axes {by_axes[0]}")

# %% [markdown]
# ### Exercise 7.5-5
#
# *Softmax pooling* with inverse temperature $\beta$ returns $\sum_kx_ke^{\beta x_k}/\sum_ke^{\beta x_k}$, a mean weighted by a softmax of the values themselves.
# Which poolings are its limits for $\beta\to0$, $\beta\to\infty$ and $\beta\to-\infty$?
# Show that it grows with $\beta$, and find the gradient with respect to $x_k$ at $\beta=0$.

# %% [markdown]
# #### Solution 7.5-5

# %% [markdown]
# At $\beta=0$ all weights are equal: average pooling.
# For $\beta\to\infty$ the largest value takes all the weight: maximum pooling.
# For $\beta\to-\infty$ it becomes minimum pooling.
#
# Let $q_k$ be the weights and $\bar x=\sum_kq_kx_k$ the result.
# From $\frac{dq_k}{d\beta}=q_k(x_k-\bar x)$ follows $\frac{d\bar x}{d\beta}=\sum_kq_kx_k(x_k-\bar x)$, the variance of the values under the weights, which is not negative.
# The gradient is $q_k(1+\beta(x_k-\bar x))$; at $\beta=0$ it is $\frac1n$ for each of the $n$ values.
# Unlike the maximum, softmax pooling has a derivative everywhere, and $\beta$ can be learned.

# %%
def softmax_pool(x, beta):
    """Softmax pooling of windows x (..., n)."""
    return (x * (beta * x).softmax(dim=-1)).sum(dim=-1)


rng = torch.Generator().manual_seed(5)
x = torch.randn(50, 4, generator=rng, dtype=torch.float64)
torch.testing.assert_close(softmax_pool(x, 0.0), x.mean(dim=-1))
for beta, limit in ((1e6, x.amax(dim=-1)), (-1e6, x.amin(dim=-1))):
    torch.testing.assert_close(softmax_pool(x, beta), limit)
steps = torch.stack([softmax_pool(x, beta / 4) for beta in range(-20, 21)])
assert (steps.diff(dim=0) > 0).all()

# %%
beta = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
x.requires_grad_()
slope, gradient = torch.autograd.grad(softmax_pool(x, beta).sum(), (beta, x))
weights = (beta * x).softmax(dim=-1)
center = (weights * x).sum(dim=-1, keepdim=True)
torch.testing.assert_close(slope, (weights * (x - center)**2).sum())
torch.testing.assert_close(gradient, weights * (1 + beta * (x - center)))

# %% [markdown]
# ### Exercise 7.5-6
#
# Adaptive average pooling from 7 to 3 values cannot tile.
# PyTorch lets window $i$ of $m$ run from $\lfloor in/m\rfloor$ up to, but not including, $\lceil(i+1)n/m\rceil$, where $n$ is the input size.
# Which windows result, which inputs count twice, and when do the windows tile?

# %% [markdown]
# #### Solution 7.5-6

# %% [markdown]
# For $n=7$ and $m=3$ the windows are 0 to 2, 2 to 4 and 4 to 6: all of length 3, overlapping in the inputs 2 and 4, which therefore count twice.
# If $m$ divides $n$, then floor and ceiling do nothing, and the result is plain pooling with window $n/m$.
# Windows may also differ in length: 8 to 3 gives lengths 3, 4 and 3.

# %%
def adaptive_windows(n, m):
    """Start and end of the windows that pool n values to m."""
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


assert adaptive_windows(7, 3) == [(0, 3), (2, 5), (4, 7)]
assert [b - a for a, b in adaptive_windows(8, 3)] == [3, 4, 3]
assert adaptive_windows(6, 3) == [(0, 2), (2, 4), (4, 6)]
for n in range(1, 16):
    x = torch.arange(n).double() ** 2
    for m in range(1, n + 1):
        own = torch.stack([x[a:b].mean() for a, b in adaptive_windows(n, m)])
        torch.testing.assert_close(F.adaptive_avg_pool1d(x[None], m)[0], own)
x = torch.arange(7.0, requires_grad=True)
F.adaptive_avg_pool1d(x[None], 3).sum().backward()
assert (3 * x.grad).round().tolist() == [1, 1, 2, 1, 2, 1, 1]

# %% [markdown]
# ## Sources
#
# - M. Riesenhuber and T. Poggio, *Hierarchical models of object recognition in cortex*, Nature Neuroscience 2 (1999), [doi:10.1038/14819](https://doi.org/10.1038/14819).
# - J. Weng, N. Ahuja and T. S. Huang, *Cresceptron: a self-organizing neural network which grows adaptively*, IJCNN 1992, [PDF](https://www.cse.msu.edu/~weng/research/CresceptronIJCNN1992.pdf): the maximum over patches of an image.
# - K. Yamaguchi et al., *A neural network for speaker-independent isolated word recognition*, ICSLP 1990: the maximum over time in speech recognition.
# - Y.-L. Boureau, J. Ponce and Y. LeCun, *A theoretical analysis of feature pooling in visual recognition*, ICML 2010: when the maximum and when the mean separates better.
# - M. D. Zeiler and R. Fergus, *Stochastic pooling for regularization of deep convolutional neural networks* (2013), [arXiv:1301.3557](https://arxiv.org/abs/1301.3557).
# - B. Graham, *Fractional max-pooling* (2014), [arXiv:1412.6071](https://arxiv.org/abs/1412.6071).
# - J. T. Springenberg et al., *Striving for simplicity: the all convolutional net* (2014), [arXiv:1412.6806](https://arxiv.org/abs/1412.6806): strided convolutions in place of pooling.
# - A. Azulay and Y. Weiss, *Why do deep convolutional networks generalize so poorly to small image transformations?* (2018), [arXiv:1805.12177](https://arxiv.org/abs/1805.12177).
# - R. Zhang, *Making convolutional networks shift-invariant again*, ICML 2019, [arXiv:1904.11486](https://arxiv.org/abs/1904.11486).
