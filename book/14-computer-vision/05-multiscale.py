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
# Five anchors around every pixel of a photograph of 640 by 480 pixels make one and a half million boxes, nearly all of them useless.
# In the blood smears of this chapter, reduced to 256 by 192 pixels, a platelet is about 15 pixels wide and a white cell 75: an anchor for the first must lie within a few pixels of it, an anchor for the second may be far coarser.
# So anchors are laid around the cells of feature maps, small ones on fine maps and large ones on coarse maps; this section measures what that saves and which boxes it reaches.
#
# **You will**
#
# - lay anchors on maps of several sizes, and compare them with one map of as many anchors;
# - compute what a cell of a map can see, and compare it with the anchors that it answers for;
# - measure how well a set of anchors covers the boxes of a data set, before anything is trained;
# - build a feature pyramid, which passes what coarse maps know to fine ones.
#
# **Cost**: about ten seconds on a CPU, a download of 9 MB.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork

import d2l_helpers as d2l
from d2l_helpers.chapters.computer_vision import (
    CELLS, DetectionData, box_center_to_corner, box_corner_to_center,
    box_iou, multibox_prior, show_boxes)
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
# An anchor that misses a place by a given number of pixels also loses more of a small object: small anchors need a dense grid, and large ones can do with a few centers.
#
# `multibox_prior` of [Section 14.4](04-anchor-boxes.ipynb) lays anchors around the cells of any $h\times w$ grid, and since its coordinates are relative, the grid of a feature map will do.
# We take a $4\times4$ map with anchors of size 0.15, a $2\times2$ map with 0.4 and a single cell with 0.8, each with ratios 1, 2 and ½.

# %%
def display_anchors(fmap_w, fmap_h, s, ratios=(1, 2, 0.5)):
    """Anchors of size s around the cells of a map, on a square picture."""
    return multibox_prior(fmap_h, fmap_w, [s], list(ratios), aspect=1)


levels = {4: 0.15, 2: 0.4, 1: 0.8}
data = DetectionData()  # the pictures of Section 14.6
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
wide = display_anchors(4, 2, 0.15, (1,))  # four columns, two rows
assert wide[:, 0].unique().numel() == 4 and wide[:, 1].unique().numel() == 2
torch.testing.assert_close(wide[:, 2:] - wide[:, :2],
                           torch.full((8, 2), 0.15))

# %% [markdown]
# How well do such anchors serve boxes of all sizes?
# Draw a size between a tenth and nine tenths of the picture, each equally likely on a logarithmic scale, a ratio from ½ to 2 and a random place; a box that does not fit is drawn again.
# Take for each box the best IoU with any anchor: its mean over the boxes is the *coverage*.
# The three maps have 63 anchors.
# Two rivals have 64: an $8\times8$ map with one square anchor in each cell, of the best among 25 sizes, and a $4\times4$ map with four squares in each cell.

# %% tags=["export"]
def level_coverage(levels, boxes, chunk=500):
    """The best IoU of each box (n, 4) with the anchors of each level.

    `levels` is a list of tensors of anchors (k, 4). Returns (n, levels);
    its maximum along the levels is the best IoU over all of them. `chunk`
    boxes at a time limit the memory.
    """
    return torch.cat([torch.stack(
        [box_iou(part, anchors).amax(1) for anchors in levels], 1)
        for part in boxes.split(chunk)])

# %%
def random_boxes(n, generator):
    """Boxes (n, 4) in the unit square: sizes 0.1 to 0.9, ratios ½ to 2."""
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
four = multibox_prior(4, 4, [0.19, 0.34, 0.5, 0.7], [1])
mixed = level_coverage([four], boxes).mean().item()
print(f"three maps {several:.3f}; one map: best single size "
      f"({sizes[single.index(best)]:.2f}) {best:.3f}, "
      f"four sizes {mixed:.3f}")

# %%
# check 14.5-C4: three levels beat one size, four sizes on one map beat both
if num_boxes >= 4000:
    assert abs(several - 0.382) < 0.007 and abs(best - 0.367) < 0.007
    one = display_anchors(8, 8, sizes[single.index(best)], (1,))
    assert len(one) == len(four) == 64
    for seed in (1, 2, 3):  # boxes that chose nothing
        fresh = random_boxes(num_boxes, torch.Generator().manual_seed(seed))
        iou = level_coverage([one, torch.cat(three), four], fresh).mean(0)
        assert iou[1] - iou[0] > 0.01 and iou[2] - iou[1] > 0.03
wide, high = (boxes[:, 2:] - boxes[:, :2]).T
assert len(boxes) == num_boxes and boxes.min() >= 0 and boxes.max() <= 1
assert 0.0999 < (wide * high).sqrt().min() < 0.11
assert 0.499 < (wide / high).min() < 0.52 and 1.9 < (wide / high).max()
parts = level_coverage(three, boxes[:50], chunk=7)  # (50, 3)
for k, anchors in enumerate(three):
    assert torch.equal(parts[:, k], box_iou(boxes[:50], anchors).amax(1))

# %% [markdown]
# The three maps cover a little better than the best single size, but that says nothing about maps: four squares on *one* map, no more anchors in all, do better than both.
# Several sizes help.
# Whether several maps do depends on the design: tuned in Exercise 2, the three maps stay behind the four squares, and four maps with a square each get ahead of them.
# With so few anchors all these designs are coarse: the coverage stays below the 0.5 at which an anchor counts as a good match.
# What several maps save shows with thousands of anchors and real boxes, below.

# %% [markdown]
# ## What a cell can see
#
# An anchor is not part of the network.
# The $c$ numbers of a cell of a feature map, or of a few cells around it, are all that the head knows when it answers for the anchors of that cell, and they depend on a *receptive field* of the picture ([Section 7.2](../07-convolutional-neural-networks/02-convolutions.ipynb)).
# If an object is larger than the field, the network judges it by a part.
#
# The first detector of [Section 14.7](07-ssd.ipynb) halves its maps with this block.

# %% tags=["export"]
def down_sample_blk(in_channels, out_channels):
    """Two 3x3 convolutions, then half the height and width."""
    layers = []
    for c in (in_channels, out_channels):
        layers += [nn.Conv2d(c, out_channels, 3, padding=1),
                   nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))

# %%
torch.manual_seed(0)
blk, X = down_sample_blk(3, 16), torch.rand(4, 3, 16, 11)
Y = blk(X)
assert Y.shape == (4, 16, 8, 5) and Y.min() >= 0  # an odd column is lost
assert torch.equal(Y, F.max_pool2d(blk[:-1](X), 2))
before = blk[:-2](X)  # normalized: mean 0, standard deviation 1
torch.testing.assert_close(before.mean((0, 2, 3)), torch.zeros(16),
                           rtol=0, atol=1e-5)

# %% [markdown]
# Three of them, with 16, 32 and 64 channels, make the first map, $32\times32$ for a picture of 256 pixels; further ones give $16\times16$, $8\times8$ and $4\times4$, and a global maximum the last, $1\times1$.
# A $3\times3$ convolution on each map is the head.
# The anchors of level $k$ have two sizes, $s_k$ and $\sqrt{s_ks_{k+1}}$, with $s_k=0.2+0.17(k-1)$ for $k=1,\dots,6$: 0.2 on the finest of the five maps, 0.88 on the coarsest.
# The first size is also used with the ratios 2 and ½.

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

# check 14.5-C5: fields, sides, and the widest anchors
assert fields == [52, 108, 220, 444]
assert [[round(v) for v in side] for side in sides] == [
    [51, 70], [95, 114], [138, 159], [182, 202], [225, 246]]
for k, field in enumerate(fields):
    anchors = multibox_prior(32 // 2**k, 32 // 2**k, [
        s / 256 for s in sides[k]], [1, 2, 0.5])[:4] * 256  # of one cell
    square, larger, wide, _ = (anchors[:, 2] - anchors[:, 0]).tolist()
    assert square < field
    if k < 2:
        assert larger > field and wide > field
    else:
        assert max(larger, wide) < field

# %% [markdown]
# On the first two levels the larger square is wider than the field, and so is the anchor of ratio 2, by a factor of $\sqrt2$ wider than the smaller square; on the third and fourth levels all anchors are narrower than the field.
# The last level sees the whole picture, and there the anchor of ratio 2 is wider than the picture itself.
# That is an observation about the design; whether it costs accuracy, this section does not measure.
#
# The formula can be tested.
# The field of a cell holds all the pixels at which its gradient with respect to the picture can differ from zero.
# Maximum pooling passes the gradient to one pixel of four and ReLU blocks some of it, so for the test we make all weights positive and take averages, which see the same pixels.

# %%
def one_level(k=0, average=False):
    """Level k of the detector: 3 + k blocks, then a head."""
    widths = [3, 16, 32, 64, 64, 64][:4 + k]
    blocks = [down_sample_blk(a, b) for a, b in zip(widths, widths[1:])]
    for blk in blocks if average else ():
        blk[-1] = nn.AvgPool2d(2)
    return nn.Sequential(*blocks, nn.Conv2d(64, 1, 3, padding=1)).eval()


def gradient_map(net, X, row, column):
    """|d output[row, column] / d X|, summed over channels, (n, h, w)."""
    X = X.clone().requires_grad_()
    net(X)[:, 0, row, column].sum().backward()
    return X.grad.abs().sum(1)


for k, (row, column) in enumerate(((14, 18), (7, 8), (4, 3))):
    torch.manual_seed(0)
    net = one_level(k, average=True)
    with torch.no_grad():
        for p in net.parameters():
            p.abs_()
    support = gradient_map(net, torch.rand(1, 3, 256, 256),
                           row, column)[0] > 0  # (256, 256)
    size, jump, start = receptive_field(block * (3 + k) + [(3, 1, 1)])
    seen = torch.zeros(256, 256, dtype=torch.bool)
    top, left = (max(0, start + i * jump) for i in (row, column))
    seen[top:start + row * jump + size, left:start + column * jump + size] = 1
    assert torch.equal(support, seen) and size == fields[k]

# %% [markdown]
# Being in the field does not mean counting for much.
# Luo and others (2016) showed that in deep networks with random weights the influence falls off from the center, in many cases like a Gaussian bell, and called the region where it is not negligible the *effective receptive field*: a fraction of the field.
# Here is ours, with random weights, ReLU and maximum pooling, averaged over random pictures and networks.

# %%
influence = torch.zeros(256, 256)
for seed in range(12):
    torch.manual_seed(seed)
    net = one_level()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    influence += gradient_map(net, torch.rand(2, 3, 256, 256),
                              16, 16).mean(0)
size, jump, start = receptive_field(block * 3 + [(3, 1, 1)])
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
                      middle + s / 2] for s in (fields[0], *sides[0])],
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
# These networks are untrained; in the two networks that Luo and others compared before and after training, the effective field had grown.

# %% [markdown]
# ## Cover the data before you train
#
# Whether anchors fit can be measured on the boxes alone.
# At 256 by 192 pixels the boxes of BCCD have three typical sizes ([Section 14.6](06-detection-data.ipynb)), so the second detector of [Section 14.7](07-ssd.ipynb) takes three square anchors of 14, 38 and 75 pixels at each cell of a map with *stride* 8, that is, 8 pixels from center to center: $24\times32\times3=2304$.
# For comparison, one anchor of 38 pixels on a finer grid of $42\times55$, 2310 in all.

# %%
height, width = 192, 256


def square_anchors(h, w, *pixels):
    """Square anchors with sides in pixels on an h x w grid."""
    return multibox_prior(h, w, [side / height for side in pixels], [1],
                          aspect=width / height)


rows = data.parts["val"][1]
rows = rows[rows[..., 0] >= 0]
grids = {"14, 38, 75 at stride 8": square_anchors(24, 32, 14, 38, 75),
         "38 on a finer grid": square_anchors(42, 55, 38)}
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
# The single size serves its own class slightly better, on its finer grid, and loses the others: inside an anchor of 38 pixels a square of 15 has an IoU of $15^2/38^2=0.16$.
# With three sizes a third of the platelets still stay below 0.5.
# The grid may be the reason: at stride 8 the nearest center can be 4 pixels off in each direction, and a square of 14 pixels shifted by that much has an IoU of $\frac{10^2}{2\cdot14^2-10^2}=0.34$ with itself.
# Two tests: a finer grid should help platelets far more than the larger cells, and so should an anchor moved exactly onto the center of each box, the limit of ever finer grids.
# Training and validation pictures are measured apart.

# %%
def below(iou, kind):
    """Share of boxes below 0.5 in each class."""
    return [(iou[kind == k] < 0.5).float().mean().item() for k in range(3)]


def strides(*pairs):
    """Squares of several sides, each on the grid of its own stride."""
    return torch.cat([square_anchors(height // stride, width // stride, side)
                      for side, stride in pairs])


designs = {f"stride {s}": strides((14, s), (38, s), (75, s))
           for s in (16, 8, 4)}
designs["14 at 4, 38 at 8, 75 at 16"] = strides((14, 4), (38, 8), (75, 16))
shares, ious = {}, {}
for split in ("train", "val"):
    truths = data.parts[split][1]
    truths = truths[truths[..., 0] >= 0]
    kind, truths = truths[:, 0], truths[:, 1:]
    for name, anchors in designs.items():
        ious[split, name] = level_coverage([anchors], truths)[:, 0]
    moved = box_corner_to_center(truths)
    moved[:, :2] = 0.5  # where the only anchors are
    ious[split, "centered"] = level_coverage(
        [square_anchors(1, 1, 14, 38, 75)],
        box_center_to_corner(moved))[:, 0]
    for name in (*designs, "centered"):
        shares[split, name] = below(ious[split, name], kind)
        count = len(designs.get(name, ())) or "-"
        print(f"{split:5s} {name:26s} {count!s:>5s} anchors, below 0.5: "
              + ", ".join(f"{c} {v:.1%}" for c, v in zip(
                  CELLS, shares[split, name])))

# %%
pyramid = "14 at 4, 38 at 8, 75 at 16"
assert len(designs[pyramid]) == 4032 and len(designs["stride 4"]) == 9216
if data.is_real:
    for split, expected in (("train", (0.41, 0.11)), ("val", (0.31, 0.10))):
        coarse, fine, levels, limit = (shares[split, name] for name in (
            "stride 8", "stride 4", pyramid, "centered"))
        for got, share in zip((coarse[2], fine[2]), expected):
            assert abs(got - share) < 0.01
        assert fine[2] < coarse[2] / 3
        # platelets gain from the grid, the other classes do not
        assert all(abs(a - b) < 0.007 for a, b in zip(coarse[:2], fine))
        assert all(abs(a - b) < 0.007 for a, b in zip(fine, limit))
        # the pyramid loses no more than the fine grid
        assert all(abs(a - b) < 0.012 for a, b in zip(fine, levels))
        lost = ious[split, "stride 4"] - ious[split, pyramid]
        kind = data.parts[split][1][..., 0]
        kind = kind[kind >= 0]
        assert all(0.01 < lost[kind == k].mean() < 0.05 for k in (0, 1))

# %% [markdown]
# Halving the stride changes only the grid, and it cuts the share of platelets below 0.5 to less than a third, on both sets of pictures, while the shares of the other classes, small already at stride 8, change by less than a percentage point.
# What is left at stride 4 is also left with centered anchors: no grid of these three squares helps, since most of those platelets are too large for 14 pixels and too small for 38.
# But stride 4 for all three sizes costs four times as many anchors.
# Here a grid for each size pays: 14 pixels at stride 4, 38 at 8 and 75 at 16 leave about as many boxes below 0.5 with 4032 anchors instead of 9216, though the larger cells lose a little of their mean IoU.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.6), layout="constrained",
                         sharey=True)
lines = {"38 alone, finer grid": ("#777777", "--",
                                  found["38 on a finer grid"]),
         "three sizes, stride 8": ("C0", "-", ious["val", "stride 8"]),
         "three strides": ("C1", "-", ious["val", pyramid])}
for k, (ax, kind) in enumerate(zip(axes, (
        "red cells", "white cells", "platelets"))):
    for name, (color, style, values) in lines.items():
        v = values[rows[:, 0] == k].sort().values
        ax.plot(v, torch.arange(1, len(v) + 1) / len(v), style, color=color,
                label=name)
    ax.axvline(0.5, color="#999999", lw=0.8)
    ax.set(title=kind, xlabel="best IoU", xlim=(0, 1))
axes[0].set_ylabel("share of boxes below")
fig.legend(*axes[0].get_legend_handles_labels(), ncol=3, fontsize=8,
           loc="outside lower center")
d2l.describe(fig, """Three panels, one for each class, with the share of boxes
    below each IoU. Red cells: three curves close together, all but a few
    boxes above 0.5. White cells: one size stays below 0.5 for most boxes,
    the others lie around 0.7. Platelets: one size lies near 0.2, three
    sizes at stride 8 near 0.55, three strides near 0.65.""")

# %% [markdown]
# **Figure 14.5.3.** How well the best anchor fits each validation box.
# A box left of the gray line has no anchor that the threshold of 0.5 would match to it.
# For red cells the two designs with three sizes coincide: both lay 38 pixels at stride 8.
#
# Every box gets at least one anchor in training, by the first rule of [Section 14.4](04-anchor-boxes.ipynb); but an anchor that starts at an IoU of 0.3 leaves more to the regression of offsets.
# Whether a detector with finer anchors finds more platelets is a question for training, which coverage does not answer.

# %% [markdown]
# ## A pyramid of features
#
# Fine maps have many places; the cells of coarse maps come after more layers and see more of the picture.
# A *feature pyramid network* (Lin and others, 2017) brings the two together.
# Each map passes through a $1\times1$ convolution to a common number of channels; then, from the coarsest down, a map is enlarged by repeating its cells and added to the next finer one; a last $3\times3$ convolution smooths the sum.

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
    copies = [x.clone() for x in maps]
    changed = []
    for k in range(3):
        other = [x + 1 if j == k else x for j, x in enumerate(maps)]
        changed.append([not torch.equal(a, b)
                        for a, b in zip(before, fpn(other))])
print("changed outputs, fine to coarse:", changed)
assert changed == [[True, False, False], [True, True, False],
                   [True, True, True]]
fpn(maps)
assert all(torch.equal(a, b) for a, b in zip(maps, copies))

twin = FeaturePyramidNetwork([40, 112, 320], 32).eval()  # torchvision's
twin.load_state_dict(dict(zip(twin.state_dict(), fpn.state_dict().values(),
                              strict=True)))
with torch.no_grad():
    expected = twin({str(k): x for k, x in enumerate(maps)}).values()
for a, b in zip(before, expected, strict=True):
    torch.testing.assert_close(a, b)

# %% [markdown]
# A change in the coarsest map reaches every output, one in the finest only its own: information flows down.
# PANet (2018) adds a second path, from fine to coarse, and many detectors since have a *neck* of this kind between backbone and head.
# A plain Vision Transformer has maps of one size only; ViTDet (Li and others, 2022) makes a pyramid from its last map alone, by transposed convolutions and pooling, and its authors found that this suffices there.
# SimPLR (Nguyen and others, 2023) leaves out the pyramid: its attention picks windows of several sizes from one map, and it is reported to compete with detectors on several maps.

# %% [markdown]
# ## Summary
#
# - With 63 or 64 anchors, several sizes gained coverage, on one map or on several; on real boxes, a grid for each size left about as few boxes below an IoU of 0.5 as a fine grid for all, with fewer than half of its anchors and a little less coverage of the larger cells.
# - A cell answers for its anchors from its receptive field, whose influence, with random weights, is concentrated in the middle; some anchors of the design with five maps are wider than the field.
# - Coverage, the mean over the true boxes of the best IoU with any anchor, is measured without training and, class by class, shows which boxes a design fits worst.
# - For small boxes the distance between centers limits the IoU; where centered anchors miss too, sizes and ratios are the limit.
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
y, x = torch.meshgrid(center, center, indexing="ij")
both = [(v[..., None] - grid).abs().amin(-1) <= 2 for v in (y, x)]
assert abs((both[0] & both[1]).float().mean() - 0.25) < 0.01

# %% [markdown]
# ### Exercise 14.5-2
#
# Choose the three sizes of the maps $4\times4$, $2\times2$ and $1\times1$ anew, to raise the coverage of the random boxes as far as you can.
# Do the same for a single square on each of the maps $6\times6$, $4\times4$, $3\times3$ and $1\times1$, 62 anchors in all.
# Judge the results on boxes that were not used for the choice.

# %% [markdown]
# #### Solution 14.5-2

# %%
# solution 14.5-2
def coverage(grids, sizes, ratios, boxes):
    """Mean best IoU of maps n x n, one size each."""
    return level_coverage([display_anchors(n, n, s, ratios) for n, s in zip(
        grids, sizes, strict=True)], boxes).amax(1).mean().item()


def search(grids, sizes, ratios):
    """Improve one size after the other, three times around."""
    for _ in range(3):
        for k in range(len(sizes)):
            trials = [[*sizes[:k], sizes[k] * 1.12 ** i, *sizes[k + 1:]]
                      for i in range(-5, 6)]
            sizes = max(trials, key=lambda s: coverage(
                grids, s, ratios, boxes[:1000]))
    return sizes


fresh, results = random_boxes(
    num_boxes, torch.Generator().manual_seed(4)), []
for grids, sizes, ratios in (
        ((4, 2, 1), [0.15, 0.4, 0.8], (1, 2, 0.5)),
        ((6, 4, 3, 1), [0.2, 0.3, 0.5, 0.7], (1,))):
    chosen = search(grids, sizes, ratios)
    results += [coverage(grids, s, ratios, fresh) for s in (sizes, chosen)]
    print(f"maps {grids}: sizes {[round(s, 2) for s in chosen]}, "
          f"{results[-2]:.3f} becomes {results[-1]:.3f}")
if num_boxes >= 4000:
    single_map = level_coverage([four], fresh).mean().item()
    assert results[0] + 0.02 < results[1] < single_map - 0.01
    assert results[3] > single_map + 0.02

# %% [markdown]
# The search moves one size at a time and stops after three rounds, so it need not find the best sizes.
# The sizes it finds do not grow in order from fine map to coarse: the $4\times4$ map gets a larger one than the $3\times3$ map.
# Ratios other than 1 take up two thirds of the first design's anchors; the second spends them on more centers and a fourth size, and on these boxes, of ratios from ½ to 2, that was worth more.

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
numbered = torch.arange(classes.numel()).reshape(classes.shape)
row = numbered.permute(0, 2, 3, 1).reshape(-1, q + 1)[9]
assert row.tolist() == [  # anchor 1 of cell 2: channels 4 to 7
    channel * h * w + 2 for channel in (4, 5, 6, 7)]

# %% [markdown]
# The channels come last before the reshape, so that the $a$ anchors of a cell stay together, in the order of `multibox_prior`: row 9 belongs to anchor 1 of cell 2, as $9=2a+1$.

# %% [markdown]
# ### Exercise 14.5-4
#
# Above what size do square anchors on a $4\times4$ map overlap? Plot the largest IoU against the size, and derive the curve.

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
# Neighbouring centers are ¼ apart, so squares of side $s>\frac14$ share a strip of area $s(s-\frac14)$, and their IoU is that area over $2s^2-s(s-\frac14)$.

# %% [markdown]
# ## Sources
#
# - W. Liu et al., SSD: single shot multibox detector, 2016, [arXiv:1512.02325](https://arxiv.org/abs/1512.02325): anchors on maps of several sizes.
# - W. Luo, Y. Li, R. Urtasun and R. Zemel, Understanding the effective receptive field in deep convolutional neural networks, 2016, [arXiv:1701.04128](https://arxiv.org/abs/1701.04128).
# - T.-Y. Lin et al., Feature pyramid networks for object detection, 2017, [arXiv:1612.03144](https://arxiv.org/abs/1612.03144).
# - S. Liu, L. Qi, H. Qin, J. Shi and J. Jia, Path aggregation network for instance segmentation, 2018, [arXiv:1803.01534](https://arxiv.org/abs/1803.01534): PANet.
# - Y. Li, H. Mao, R. Girshick and K. He, Exploring plain Vision Transformer backbones for object detection, 2022, [arXiv:2203.16527](https://arxiv.org/abs/2203.16527): ViTDet.
# - D.-K. Nguyen, M. R. Oswald and C. G. M. Snoek, SimPLR: a simple and plain transformer for efficient object detection and segmentation, 2023, [arXiv:2310.05920](https://arxiv.org/abs/2310.05920).
