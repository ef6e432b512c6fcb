# ---
# jupyter:
#   d2l:
#     data: [bccd]
#     profiles:
#       gpu:
#         num_boxes: 20000
#       smoke:
#         num_boxes: 300
#     rehearsal:
#       num_boxes: 0.1
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
# # 14.5 Multiscale object detection
#
# Around every pixel of a small photograph, five anchors make millions of boxes, nearly all of them useless.
# A platelet is 15 pixels wide and a white cell 75: the first needs many positions and one small shape, the second few positions and a large one.
# So anchors are laid around the cells of feature maps, small ones on fine maps and large ones on coarse maps, and this section asks which map should look for which size.
#
# **You will**
#
# - lay anchors on maps of several sizes, and count what is gained;
# - compute what a cell of a map can see, and compare it with the anchors that it answers for;
# - measure how well a set of anchors covers the boxes of a data set, before anything is trained;
# - build a feature pyramid, in which fine maps learn from coarse ones.
#
# **Cost**: about ten seconds on a CPU, a download of 9 MB.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.computer_vision import (
    CELLS, DetectionData, box_iou, multibox_prior, show_boxes)
from d2l_helpers.chapters.convolutional_neural_networks import (
    receptive_field)

d2l.use_style()

# %% tags=["parameters"]
num_boxes = 4000  # random boxes that the anchors should cover

# %% [markdown]
# ## Anchors on a map
#
# A small object has more places than a large one: an object of $a\times b$ pixels fits into a picture of $n\times n$ at $(n-a+1)(n-b+1)$ places.
# For a dot of 15 pixels in 256 these are 58,564, for an object of 200 pixels 3,249.
# Small anchors therefore deserve a dense grid, and large ones are well served by a few centers.
#
# `multibox_prior` of [Section 14.4](04-anchor-boxes.ipynb) lays anchors around the cells of any $h\times w$ grid, and since its coordinates are relative, the grid of a feature map will do.
# We take a $4\times4$ map with anchors of size 0.15, a $2\times2$ map with 0.4 and a single cell with 0.8, each with ratios 1, 2 and ½.

# %%
def display_anchors(fmap_w, fmap_h, s, ratios=(1, 2, 0.5)):
    """Anchors of size s around the cells of a map, on a square picture."""
    return multibox_prior(fmap_h, fmap_w, [s], list(ratios), aspect=1)


levels = {4: 0.15, 2: 0.4, 1: 0.8}
data = DetectionData(num_pictures=4)
picture = data.parts["val"][0][0][:, :, 32:224]  # (3, 192, 192)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.3), layout="constrained")
for ax, (n, s) in zip(axes, levels.items()):
    ax.imshow(picture.permute(1, 2, 0), extent=(0, 1, 1, 0), alpha=0.55)
    anchors = display_anchors(n, n, s)
    show_boxes(ax, anchors, colors=[f"C{k}" for _ in range(n * n)
                                    for k in (0, 1, 3)])
    center = (anchors[:, :2] + anchors[:, 2:]) / 2
    ax.plot(*center.T, "k.", ms=4)
    ax.set_title(f"{n} × {n}, size {s}", fontsize=9)
    ax.axis("off")
d2l.describe(fig, """The same square picture of cells three times, with
    anchors around the cells of a grid. Four by four: sixteen groups of three
    small boxes. Two by two: four groups that overlap. One cell: three boxes
    that fill most of the picture.""")

# %% [markdown]
# **Figure 14.5.1.** Three sizes on three grids, three ratios at each center.

# %%
# check 14.5-C1: numbers of anchors
assert [len(display_anchors(n, n, s)) for n, s in levels.items()] == [
    16 * 3, 4 * 3, 1 * 3]

# check 14.5-C2: which anchors overlap
def overlaps(anchors):
    """Largest IoU of two different anchors."""
    return box_iou(anchors, anchors).fill_diagonal_(0).max().item()


assert overlaps(display_anchors(4, 4, 0.15, (1,))) == 0
two = display_anchors(2, 2, 0.4)
between = box_iou(two[:3], two[3:6]).max().item()  # neighbouring cells
assert between > 0
assert overlaps(display_anchors(2, 2, 0.4, (1,))) == 0  # squares do not

# check 14.5-C3: centers
anchors = display_anchors(4, 4, 0.15)
center = ((anchors[:, :2] + anchors[:, 2:]) / 2).reshape(4, 4, 3, 2)
grid = (torch.arange(4) + 0.5) / 4
torch.testing.assert_close(center[..., 0], grid[None, :, None].expand(
    4, 4, 3))
torch.testing.assert_close(center[..., 1], grid[:, None, None].expand(
    4, 4, 3))

# %% [markdown]
# Is this better than one map with as many anchors?
# Draw boxes with every size from a tenth to nine tenths of the picture equally likely on a logarithmic scale, ratios from ½ to 2, at random places, and take for each box the best IoU with any anchor.
# The mean over boxes is the *coverage*.
# The three maps have 63 anchors, and an $8\times8$ map with one square anchor in each cell has 64.

# %% tags=["export"]
def level_coverage(levels, boxes, chunk=2000):
    """The best IoU of each box (n, 4) with the anchors of each level.

    `levels` is a list of tensors of anchors (k, 4). Returns (n, levels);
    its maximum along the levels is the best IoU over all of them.
    """
    return torch.cat([torch.stack(
        [box_iou(part, anchors).amax(1) for anchors in levels], 1)
        for part in boxes.split(chunk)])

# %%
def random_boxes(n, generator):
    """Boxes (n, 4) inside the unit square: sizes 0.1 to 0.9, ratios ½ to 2.

    A box that would not fit is drawn again.
    """
    kept = torch.empty(0, 4)
    while len(kept) < n:
        u = torch.rand(2 * n, 4, generator=generator)
        size, root = 0.1 * 9 ** u[:, 0], 2 ** (u[:, 1] - 0.5)
        side = torch.stack([size * root, size / root], 1)
        corner = u[:, 2:] * (1 - side)
        kept = torch.cat([kept, torch.cat([corner, corner + side], 1)[
            (side <= 1).all(1)]])
    return kept[:n]


boxes = random_boxes(num_boxes, torch.Generator().manual_seed(0))
three = [display_anchors(n, n, s) for n, s in levels.items()]
several = level_coverage(three, boxes).amax(1).mean().item()
sizes = [0.1 * 9 ** (i / 24) for i in range(25)]
single = [level_coverage([display_anchors(8, 8, s, (1,))],
                         boxes).mean().item() for s in sizes]
best = max(single)
print(f"three maps {several:.3f}; one map {best:.3f} with its best size, "
      f"{sizes[single.index(best)]:.2f}")

# check 14.5-C4: three levels cover better than the best single one
assert several > best
if num_boxes >= 4000:
    assert abs(several - 0.39) < 0.01 and abs(best - 0.36) < 0.01
    more = [level_coverage([a], random_boxes(
        num_boxes, torch.Generator().manual_seed(1))) for a in (
        torch.cat(three), display_anchors(8, 8, sizes[single.index(best)],
                                          (1,)))]
    assert more[0].mean() > more[1].mean() + 0.01

# %% [markdown]
# The gain is modest, 63 anchors are few, and neither would serve a detector: the mean IoU is far below the 0.5 at which an anchor counts as a hit.
# What it shows is where anchors are wasted.
# Real detectors use thousands, and there the question returns for each class of a data set.

# %% [markdown]
# ## What a cell can see
#
# An anchor is no part of the network.
# The $c$ numbers of a cell of a feature map, or of a few cells around it, are all that the head knows when it answers for the anchors of that cell, and they depend on a *receptive field* of the picture ([Section 7.2](../07-convolutional-neural-networks/02-convolutions.ipynb)).
# If the anchor is larger than the field, the network judges an object of which it sees the middle only.
#
# The detector of Section 14.7 halves its maps with this block.

# %% tags=["export"]
def down_sample_blk(in_channels, out_channels):
    """Two 3x3 convolutions, then half the height and width."""
    layers = []
    for c in (in_channels, out_channels):
        layers += [nn.Conv2d(c, out_channels, 3, padding=1),
                   nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))

# %% [markdown]
# Three of them, with 16, 32 and 64 channels, make the first map, $32\times32$ for a picture of 256 pixels; further ones give $16\times16$, $8\times8$ and $4\times4$, and a global maximum the last, $1\times1$.
# A $3\times3$ convolution on each map is the head.
# The anchors of level $k$ have two sizes, $s_k$ and $\sqrt{s_ks_{k+1}}$, with $s_k$ growing from 0.2 to 0.88 in equal steps.

# %%
block = [(3, 1, 1), (3, 1, 1), (2, 2, 0)]  # kernel, stride, padding
fields = [receptive_field(block * (3 + k) + [(3, 1, 1)])[0]
          for k in range(4)]
steps = [0.2 + 0.17 * k for k in range(6)]
sides = [(256 * steps[k], 256 * (steps[k] * steps[k + 1]) ** 0.5)
         for k in range(5)]
for field, side in zip([*fields, "all"], sides):
    print(f"field {field}; anchors of ratio 1: "
          f"{side[0]:.0f} and {side[1]:.0f} pixels")

# check 14.5-C5: fields, sides, and the field as support of a gradient
assert fields == [52, 108, 220, 444]
assert [[round(v) for v in side] for side in sides] == [
    [51, 70], [95, 114], [138, 159], [182, 202], [225, 246]]
for k in (0, 1):  # the larger anchor exceeds the field, at ratio 2 both do
    assert sides[k][1] > fields[k] > sides[k][0]
    assert sides[k][0] * 2**0.5 > fields[k]
assert sides[2][1] < fields[2] < sides[2][1] * 2**0.5  # ratio 2, just
assert sides[3][1] * 2**0.5 < fields[3]

# %% [markdown]
# On the first two levels the larger square is wider than the field, and with ratio 2 the smaller anchor is too.
# That is an observation about the design; whether it costs accuracy, this section does not measure.
#
# The formula can be tested.
# The field of a cell is where its gradient with respect to the picture is not zero.
# Maximum pooling passes the gradient to one pixel of four and ReLU blocks some of it, so for the test we make all weights positive and take averages, which see the same pixels.

# %%
def first_level(c_in=3, pool=nn.MaxPool2d):
    """Three blocks and a head: the first level of the detector."""
    net = nn.Sequential(*[down_sample_blk(a, b) for a, b in (
        (c_in, 16), (16, 32), (32, 64))], nn.Conv2d(64, 1, 3, padding=1))
    for blk in net[:3]:
        blk[-1] = pool(2)
    return net.eval()


def gradient_map(net, X, row=16, column=16):
    """|d output[row, column] / d X|, summed over channels, (n, h, w)."""
    X = X.clone().requires_grad_()
    net(X)[:, 0, row, column].sum().backward()
    return X.grad.abs().sum(1)


torch.manual_seed(0)
net = first_level(pool=nn.AvgPool2d)
with torch.no_grad():
    for p in net.parameters():
        p.abs_()
support = gradient_map(net, torch.rand(1, 3, 256, 256))[0] > 0
assert support.any(0).sum() == support.any(1).sum() == fields[0]
first = support.any(0).nonzero()[0].item()
size, jump, start = receptive_field(block * 3 + [(3, 1, 1)])
assert first == start + 16 * jump and support.sum() == fields[0] ** 2

# %% [markdown]
# Being in the field does not mean to count much.
# Luo and others (2016) showed that in deep networks with random weights the influence falls off like a bell from the center, and called the region with most of it the *effective receptive field*.
# Here is ours, with random weights, ReLU and maximum pooling, averaged over random pictures and networks.

# %%
influence = torch.zeros(256, 256)
for seed in range(12):
    torch.manual_seed(seed)
    net = first_level()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    influence += gradient_map(net, torch.rand(4, 3, 256, 256)).mean(0)
middle = 16 * jump + start + size / 2  # center of the field
total = influence.sum()


def within(side):
    """Share of the influence in a square of this side in the center."""
    a, b = round(middle - side / 2), round(middle + side / 2)
    return (influence[a:b, a:b].sum() / total).item()


shares = {side: within(side) for side in range(4, 53, 4)}
print({side: round(share, 2) for side, share in shares.items()})
assert abs(shares[52] - 1) < 1e-4
assert shares[36] > 0.78  # a square with less than half of the area
assert (26 / 52) ** 2 < within(26) / 2  # far from evenly spread

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6.6, 2.5), layout="constrained")
low, high = round(middle - 36), round(middle + 36)
axes[0].imshow(influence[low:high, low:high].sqrt(), cmap="viridis",
               extent=(low, high, high, low))
show_boxes(axes[0], [[middle - s / 2, middle - s / 2, middle + s / 2,
                      middle + s / 2] for s in (52, 51, 70)],
           colors=["white", "C1", "C3"])
axes[0].grid(False)
axes[0].set(xlabel="x (pixels)", ylabel="y (pixels)")
axes[1].plot(list(shares), list(shares.values()), "o-", ms=3,
             label="influence")
axes[1].plot(list(shares), [(s / 52) ** 2 for s in shares], "--",
             color="#777777", label="area")
axes[1].set(xlabel="side of a central square (pixels)",
            ylabel="share of the field")
axes[1].legend()
d2l.describe(fig, """Left, a heat map of influence: a bright blob in the
    middle of a white square of 52 pixels, dark toward its border; an orange
    square of 51 pixels almost on it, a green one of 70 around it. Right,
    the share of influence within a central square rises much faster than
    its share of the area.""")

# %% [markdown]
# **Figure 14.5.2.** Left, the influence of each pixel on one cell of the first level (square root, so that the rim is visible), its field (white) and its two square anchors (orange, green).
# Right, a square with less than half of the field's area holds four fifths of the influence.
# The networks are untrained; training changes the weights, and Luo and others found that it enlarges the effective field.

# %% [markdown]
# ## Cover the data before you train
#
# Whether anchors fit can be measured on the boxes alone.
# The pictures of BCCD at 256 by 192 pixels have boxes of three typical sizes ([Section 14.6](06-detection-data.ipynb)), so Section 14.7 takes three square anchors of 14, 38 and 75 pixels at each cell of a map with stride 8: $24\times32\times3=2304$.
# For comparison, one anchor of 38 pixels on a finer grid of $42\times55$, 2310 in all.

# %%
height, width = 192, 256


def square_anchors(h, w, *pixels):
    """Square anchors with sides in pixels on an h x w grid."""
    return multibox_prior(h, w, [side / height for side in pixels], [1],
                          aspect=width / height)


data = DetectionData()
rows = data.parts["val"][1]
rows = rows[rows[..., 0] >= 0]
grids = {"14, 38, 75 at stride 8": square_anchors(24, 32, 14, 38, 75),
         "38 on a finer grid": square_anchors(42, 55, 38)}
print("anchors:", {name: len(a) for name, a in grids.items()})
found = {name: level_coverage([anchors], rows[:, 1:])[:, 0]
         for name, anchors in grids.items()}
means, misses = {}, {}
for name, iou in found.items():
    per_class = [iou[rows[:, 0] == k] for k in range(3)]
    means[name] = [round(v.mean().item(), 2) for v in per_class]
    misses[name] = [round((v < 0.5).float().mean().item(), 3)
                    for v in per_class]
    print(f"{name}: mean best IoU", dict(zip(CELLS, means[name])),
          "below 0.5:", dict(zip(CELLS, misses[name])))

# check 14.5-C7: three sizes against one, at equal numbers of anchors
three_sizes, one_size = means.values()
assert [len(a) for a in grids.values()] == [2304, 2310]
if data.is_real:
    assert three_sizes == [0.73, 0.69, 0.55]
    assert one_size == [0.76, 0.29, 0.20]
    for share, expected in zip(misses["14, 38, 75 at stride 8"],
                               (0.006, 0.057, 0.313), strict=True):
        assert abs(share - expected) < 0.006

# %% [markdown]
# A single size serves its own class, slightly better than three sizes do, and loses the others: no anchor of 38 pixels reaches an IoU of 0.5 with a box of 15.
# With three sizes a third of the platelets still stay below 0.5.
# The grid is the reason: at stride 8 the nearest center can be 4 pixels off in each direction, and a square of 14 pixels shifted by that much overlaps with itself by $\frac{10^2}{2\cdot14^2-10^2}=0.34$.
# If that is so, halving the stride must help platelets and hardly anything else.

# %%
strides = {}
for stride in (16, 8, 4):
    anchors = square_anchors(height // stride, width // stride, 14, 38, 75)
    iou = level_coverage([anchors], rows[:, 1:])[:, 0]
    strides[stride] = [iou[rows[:, 0] == k] for k in range(3)]
    print(f"stride {stride:2d}: {len(anchors):5d} anchors, below 0.5:", {
        kind: f"{(v < 0.5).float().mean():.1%}"
        for kind, v in zip(CELLS, strides[stride])})
if data.is_real:
    gain = [(b - a).mean().item() for a, b in zip(strides[8], strides[4])]
    assert gain[2] > 2 * max(gain[:2])
    assert (strides[4][2] < 0.5).float().mean() < 0.15

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.2), layout="constrained",
                         sharey=True)
lines = {"38 alone, finer grid": ("C7", "--", [
    found["38 on a finer grid"][rows[:, 0] == k] for k in range(3)]),
    "three sizes, stride 8": ("C0", "-", strides[8]),
    "three sizes, stride 4": ("C1", "-", strides[4])}
for k, (ax, kind) in enumerate(zip(axes, (
        "red cells", "white cells", "platelets"))):
    for name, (color, style, values) in lines.items():
        v = values[k].sort().values
        ax.plot(v, torch.arange(1, len(v) + 1) / len(v), style, color=color,
                label=name)
    ax.axvline(0.5, color="#999999", lw=0.8)
    ax.set(title=kind, xlabel="best IoU", xlim=(0, 1))
axes[0].set_ylabel("share of boxes below")
axes[0].legend(fontsize=6, loc="upper left")
d2l.describe(fig, """Three panels, one for each class, with the share of boxes
    below each IoU. Red cells: three curves close together, all but a few
    boxes above 0.5. White cells: one size stays below 0.5 for most boxes,
    three sizes lie around 0.7 for both strides. Platelets: one size lies near
    0.2, three sizes at stride 8 around 0.55, at stride 4 near 0.7.""")

# %% [markdown]
# **Figure 14.5.3.** How well the best anchor fits each validation box.
# Left of the gray line no anchor would be matched by the threshold of 0.5.
#
# Every box gets at least one anchor in training, by the first part of the assignment of Section 14.4; but an anchor that starts at an IoU of 0.3 leaves more to the regression of offsets.
# Whether a detector with stride 4 finds more platelets is a question for training, and anchors are four times as many.

# %% [markdown]
# ## A pyramid of features
#
# Fine maps have the places, coarse maps have the meaning: their cells have passed more layers and see more.
# A *feature pyramid network* (Lin and others, 2017) gives the fine maps both.
# Each map passes a $1\times1$ convolution to a common number of channels; then, from the coarsest down, a map is enlarged by repeating its cells and added to the next finer one; a last $3\times3$ convolution smooths the sum.

# %% tags=["export"]
class FPN(nn.Module):
    """A feature pyramid: maps with a top-down path, all with `out` channels.

    `channels` are those of the given maps, fine to coarse; the result has
    the sizes of the maps, in the same order.
    """

    def __init__(self, channels, out):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, out, 1) for c in channels)
        self.smooth = nn.ModuleList(
            nn.Conv2d(out, out, 3, padding=1) for _ in channels)

    def forward(self, maps):
        sums = [layer(x) for layer, x in zip(self.lateral, maps,
                                             strict=True)]
        for k in range(len(sums) - 2, -1, -1):  # from coarse to fine
            sums[k] = sums[k] + F.interpolate(
                sums[k + 1], size=sums[k].shape[-2:], mode="nearest")
        return [layer(x) for layer, x in zip(self.smooth, sums,
                                             strict=True)]

# %%
# check 14.5-C6: sizes, channels, and who depends on whom
torch.manual_seed(0)
fpn = FPN([40, 112, 320], 32).eval()
maps = [torch.rand(2, c, h, w) for c, h, w in (
    (40, 23, 30), (112, 12, 15), (320, 6, 8))]  # 23 is not 2 * 12
with torch.no_grad():
    before = fpn(maps)
    assert [tuple(x.shape) for x in before] == [
        (2, 32, 23, 30), (2, 32, 12, 15), (2, 32, 6, 8)]
    changed = []
    for k in range(3):
        other = [x + 1 if j == k else x for j, x in enumerate(maps)]
        changed.append([not torch.equal(a, b)
                        for a, b in zip(before, fpn(other))])
print("changed outputs, fine to coarse:", changed)
assert changed == [[True, False, False], [True, True, False],
                   [True, True, True]]
assert maps[0].max() <= 1  # the inputs are left as they are

# %% [markdown]
# A change in the coarsest map reaches every output, one in the finest only its own: information flows down.
# PANet and its successors add a second path upward, and most detectors in use have one of these necks between backbone and head.
# A plain Vision Transformer has maps of one size only; ViTDet (Li and others, 2022) makes a pyramid from its last map alone, by transposed convolutions and pooling, and found that this suffices there.

# %% [markdown]
# ## Summary
#
# - Anchors live on the cells of feature maps: small ones on fine maps, where they have many places, large ones on coarse maps.
# - A cell answers for anchors out of its receptive field, whose influence is concentrated in the middle; the anchors of a level should be chosen with that in view.
# - Coverage, the best IoU of each true box with any anchor, is measured without training and shows which class a design will serve badly.
# - For small boxes the distance of the centers limits the IoU, whatever the sizes of the anchors are.
# - A feature pyramid hands what coarse maps know to the fine ones.

# %% [markdown]
# ## Exercises
#
# ### Exercise 14.5-1
#
# At how many places does an object of $a\times b$ pixels fit into a picture of $n\times n$? Check by counting.
# For which share of the places of a $15\times15$ object in 256 pixels is there an anchor center of a stride-8 grid within 2 pixels of its center, in both directions?

# %% [markdown]
# #### Solution 14.5-1

# %%
# solution 14.5-1
def places(n, a, b):
    """How many positions an object of a x b pixels has."""
    return (n - a + 1) * (n - b + 1)


for n, a, b in ((5, 2, 3), (7, 7, 1), (6, 1, 1)):
    counted = sum(y + a <= n and x + b <= n
                  for y in range(n) for x in range(n))
    assert places(n, a, b) == counted
assert places(256, 15, 15) == 58_564 and places(256, 200, 200) == 3_249
center = torch.arange(256 - 15 + 1) + 7.5  # of an object at each place
grid = (torch.arange(32) + 0.5) * 8
near = ((center[:, None] - grid).abs().amin(1) <= 2).float().mean().item()
print(f"within 2 pixels: {near:.2f} along an axis, {near**2:.2f} in both")
assert abs(near - 0.5) < 0.01  # distances are 0.5, 1.5, 2.5 and 3.5

# %% [markdown]
# ### Exercise 14.5-2
#
# Choose the three sizes of the maps $4\times4$, $2\times2$ and $1\times1$ anew so that the coverage of the random boxes is largest.
# Judge the result on boxes that were not used for the choice.

# %% [markdown]
# #### Solution 14.5-2

# %%
# solution 14.5-2
def coverage(sizes, boxes):
    """Mean best IoU of the three maps with these sizes."""
    return level_coverage([display_anchors(n, n, s) for n, s in zip(
        (4, 2, 1), sizes)], boxes).amax(1).mean().item()


fresh = random_boxes(num_boxes, torch.Generator().manual_seed(2))
chosen = [0.15, 0.4, 0.8]
for _ in range(3):  # one size after the other
    for k in range(3):
        trials = [[*chosen[:k], s, *chosen[k + 1:]] for s in (
            chosen[k] * 1.15 ** i for i in range(-4, 5))]
        chosen = max(trials, key=lambda sizes: coverage(sizes, boxes[:1000]))
old, new = (coverage(sizes, fresh) for sizes in ((0.15, 0.4, 0.8), chosen))
print(f"sizes {[round(s, 2) for s in chosen]}: {old:.3f} becomes {new:.3f}")
if num_boxes >= 4000:
    assert new > old + 0.01

# %% [markdown]
# ### Exercise 14.5-3
#
# A feature map has the shape $(1,c,h,w)$, each cell has $a$ anchors and there are $q$ classes.
# Which shapes do the outputs for classes and for offsets have, if a $3\times3$ convolution makes them? Check with the anchors of `multibox_prior`.

# %% [markdown]
# #### Solution 14.5-3

# %%
# solution 14.5-3
c, h, w, q = 64, 6, 8, 3
anchors = multibox_prior(h, w, [0.2, 0.27], [1, 2, 0.5])
a = len(anchors) // (h * w)
X = torch.rand(1, c, h, w)
classes = nn.Conv2d(c, a * (q + 1), 3, padding=1)(X)
offsets = nn.Conv2d(c, 4 * a, 3, padding=1)(X)
print(a, tuple(classes.shape), tuple(offsets.shape))
assert classes.shape == (1, a * (q + 1), h, w) and a == 4
assert classes.permute(0, 2, 3, 1).reshape(1, -1, q + 1).shape[1] == (
    len(anchors))
assert offsets.permute(0, 2, 3, 1).reshape(1, -1, 4).shape[1] == len(anchors)

# %% [markdown]
# The channels come last before the reshape, so that the $a$ anchors of a cell stay together, in the order of `multibox_prior`.

# %% [markdown]
# ### Exercise 14.5-4
#
# From which size on do square anchors on a $4\times4$ map overlap? Plot the largest IoU against the size, and derive the curve.

# %% [markdown]
# #### Solution 14.5-4

# %%
# solution 14.5-4
sizes = torch.linspace(0.1, 0.9, 33)
largest = torch.tensor([overlaps(display_anchors(4, 4, s.item(), (1,)))
                        for s in sizes])
shared = (sizes * (sizes - 0.25)).clamp(min=0)  # of two neighbours
torch.testing.assert_close(largest, shared / (2 * sizes**2 - shared),
                           rtol=0, atol=1e-5)
assert largest[sizes < 0.25].max() == 0 and largest[sizes > 0.26].min() > 0
d2l.plot(sizes, [largest], xlabel="size",
         ylabel="largest IoU of two anchors")
d2l.describe(plt.gcf(), """A curve that is zero up to the size 0.25 and then
    rises, steeply at first, to about 0.57 at 0.9.""")

# %% [markdown]
# Neighbouring centers are ¼ apart, so squares of side $s>\frac14$ share a strip of $s\cdot(s-\frac14)$.

# %% [markdown]
# ## Sources
#
# - W. Liu et al., SSD: single shot multibox detector, 2016, [arXiv:1512.02325](https://arxiv.org/abs/1512.02325): anchors on maps of several sizes.
# - W. Luo, Y. Li, R. Urtasun and R. Zemel, Understanding the effective receptive field in deep convolutional neural networks, 2016, [arXiv:1701.04128](https://arxiv.org/abs/1701.04128).
# - T.-Y. Lin et al., Feature pyramid networks for object detection, 2017, [arXiv:1612.03144](https://arxiv.org/abs/1612.03144).
# - S. Liu, L. Qi, H. Qin, J. Shi and J. Jia, Path aggregation network for instance segmentation, 2018, [arXiv:1803.01534](https://arxiv.org/abs/1803.01534): PANet.
# - Y. Li, H. Mao, R. Girshick and K. He, Exploring plain Vision Transformer backbones for object detection, 2022, [arXiv:2203.16527](https://arxiv.org/abs/2203.16527): ViTDet.
