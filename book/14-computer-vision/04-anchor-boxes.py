# ---
# jupyter:
#   d2l:
#     data: [bccd]
#     profiles:
#       gpu:
#         num_seeds: 200
#       smoke:
#         num_seeds: 5
#     rehearsal: {num_seeds: 0.2}
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
# # 14.4 Anchor boxes
#
# A picture holds any number of objects, but a network answers with a tensor of fixed shape.
# Anchor boxes bridge the gap: thousands of fixed boxes cover the picture, and for each the network answers two questions: which object it shows, if any, and how it must move and stretch to fit.
# Everything around that network is geometry and counting: which boxes, which answers are right, and how thousands of answers become a short list.
#
# **You will**
#
# - place anchors of chosen sizes and shapes, and measure overlap by IoU and its generalization;
# - label anchors and encode boxes as offsets, for a whole batch at once, and prove that the fast code equals the slow one;
# - run non-maximum suppression, tested against torchvision, and count what it deletes;
# - avoid three mistakes of a well-known textbook.
#
# **Cost**: about twenty seconds on a CPU, a download of 8 MB, no GPU needed.

# %%
import math

import matplotlib.pyplot as plt
import torch
import torchvision
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.computer_vision import (
    CELLS, box_center_to_corner, box_corner_to_center, read_voc, show_boxes)
from d2l_helpers.pictures import read_images

d2l.use_style()

# %% tags=["parameters"]
num_seeds = 50  # random cases on which fast code meets slow code

# %% [markdown]
# ## Boxes at every cell of a grid
#
# The pictures are the blood smears of [Section 14.3](03-bounding-boxes.ipynb), with their boxes around red cells, white cells and platelets.
# We divide the boxes by width and height of the picture, so all coordinates lie in $[0,1]$.

# %%
found = d2l.fetch("bccd")
root = found.folder / "BCCD"
splits = {split: read_voc(root, split) for split in ("train", "val", "test")}
everything = [item for items in splits.values() for item in items]
path, pixels = next(item for item in everything
                    if item[0].stem == "BloodImage_00310")
photo = read_images([path], (180, 240))[0].permute(1, 2, 0)
scale = torch.tensor([1, 640, 480, 640, 480])  # pictures are 640 x 480
labels = pixels / scale  # (boxes, 5): class, x1, y1, x2, y2
print(len(everything), "pictures; in this one:",
      {kind: int((labels[:, 0] == k).sum()) for k, kind in enumerate(CELLS)})

# %% [markdown]
# An *anchor box* has a size $s\in(0,1]$ and an *aspect ratio* $r>0$.
# On a picture of $h\times w$ pixels it measures
#
# $$\text{width}=hs\sqrt r,\qquad\text{height}=\frac{hs}{\sqrt r}\qquad\text{in pixels}, \tag{14.4.1}$$
#
# or $s\sqrt r\,\frac hw$ by $\frac s{\sqrt r}$ in relative coordinates.
# Its area is $(hs)^2$ whatever $r$ is, and width over height is $r$.
# With $h=480$, $s=0.5$ and $r=2$ it is 339 pixels wide and 170 high.
#
# From $n$ sizes and $m$ ratios we take only the pairs that contain the first size or the first ratio: $n+m-1$ anchors at each cell of a grid, instead of $nm$.
# The cells are the pixels, or, in a detector, the cells of a feature map.

# %% tags=["export"]
def multibox_prior(h, w, sizes, ratios, aspect=None, device=None):
    """Anchors around the centers of an h x w grid: corners (h*w*a, 4).

    Each cell has a = len(sizes) + len(ratios) - 1 anchors, one after the
    other: every size with the first ratio, then the first size with every
    other ratio. An anchor of size s and ratio r is s * sqrt(r) picture
    heights wide and s / sqrt(r) high. `aspect` is the picture's width
    over its height; the default w / h suits square cells.
    """
    aspect = w / h if aspect is None else aspect
    size = torch.tensor([*sizes, *[sizes[0]] * (len(ratios) - 1)],
                        device=device)
    root = torch.tensor([ratios[0]] * len(sizes) + [*ratios[1:]],
                        device=device).sqrt()
    half = torch.stack([size * root / aspect, size / root], -1) / 2  # (a, 2)
    y, x = torch.meshgrid((torch.arange(h, device=device) + 0.5) / h,
                          (torch.arange(w, device=device) + 0.5) / w,
                          indexing="ij")
    center = torch.stack([x, y], -1).reshape(-1, 1, 2)  # (h*w, 1, 2)
    return torch.cat([center - half, center + half], -1).reshape(-1, 4)

# %% tags=["hide-input"]
sizes, ratios = [0.45, 0.3, 0.15], [1.0, 2.0, 0.5]
at_cell = multibox_prior(12, 16, sizes, ratios).view(12, 16, 5, 4)[5, 4]


def show_photo(ax, grey=False):
    """The photograph in relative coordinates, in colour or pale grey."""
    shades = (photo.float().mean(2) / 10).round()
    ax.imshow(shades if grey else photo, extent=(0, 1, 1, 0), aspect=0.75,
              interpolation="nearest", cmap="gray", vmin=-5, vmax=25)
    ax.axis("off")


_, ax = plt.subplots(figsize=(4.4, 3.3), layout="constrained")
show_photo(ax)
show_boxes(ax, labels[labels[:, 0] == 1, 1:], colors="white")
colors = ["C0", "C1", "C2", "C3", "C4"]
show_boxes(ax, at_cell, ["s=0.45", "s=0.3", "s=0.15", "r=2", "r=0.5"], colors)
ax.plot(*at_cell[0].view(2, 2).mean(0), "w+", ms=9)
ax.set(xlim=(0, 1), ylim=(1, 0))
d2l.describe(ax, """Red cells, three platelets and a large purple white cell
    in a white box. Five anchors around one point: squares of three sizes, and
    a wide and a high rectangle of the largest size. The largest square fits
    the white box best.""")

# %% [markdown]
# **Figure 14.4.1.** Five anchors around one cell of a 12x16 grid, and in white the box of the white cell.
# Anchors may leave the picture.

# %%
# check 14.4-C1: n + m - 1 anchors at each pixel
dense = multibox_prior(561, 728, sizes=[0.75, 0.5, 0.25], ratios=[1, 2, 0.5])
assert dense.shape == (2_042_040, 4) and 561 * 728 * 5 == 2_042_040
del dense

# %%
# check 14.4-C2: in pixels, width / height is r, and the height h s / sqrt(r)
h, w = 300, 500
grid = multibox_prior(3, 5, [0.4, 0.2, 0.8], [2.0, 1.0, 0.25]).view(15, 5, 4)
sides = (grid[..., 2:] - grid[..., :2]) * torch.tensor([w, h])
r = torch.tensor([2.0, 2, 2, 1, 0.25])
s = torch.tensor([0.4, 0.2, 0.8, 0.4, 0.4])
torch.testing.assert_close(sides[..., 0] / sides[..., 1], r.expand(15, 5))
torch.testing.assert_close(sides[..., 1], (h * s / r.sqrt()).expand(15, 5))
middle = box_corner_to_center(grid)[:, 0, :2].view(3, 5, 2)
torch.testing.assert_close(middle[1, 4], torch.tensor([0.9, 0.5]))
wide = multibox_prior(1, 1, [0.5], [1.0], aspect=4 / 3)  # one cell, 4:3
torch.testing.assert_close(wide[0, 2:] - wide[0, :2],
                           torch.tensor([0.375, 0.5]))

# %% [markdown]
# A widely used textbook (Zhang et al., 2023) gives the width as $ws\sqrt r$ in its text, and computes $hs\sqrt r$ in its code.
# The two agree on square pictures only: with the formula of the text an anchor of ratio 1 on a 4:3 picture is a 4:3 rectangle.
#
# ## How much two boxes overlap
#
# In Figure 14.4.1 one anchor fits better than the others.
# The usual measure of fit is the *intersection over union* (IoU), also called the Jaccard index:
#
# $$\mathrm{IoU}(A,B)=\frac{|A\cap B|}{|A\cup B|}\in[0,1], \tag{14.4.2}$$
#
# where $A$ and $B$ are boxes and $|\cdot|$ is the area.
# It is 1 for equal boxes, 0 for disjoint ones, and does not change when both boxes are scaled alike.
# It is stricter than it looks: two unit squares of which one is shifted by $\frac13$ share two thirds of their area, and their IoU is $\frac{2/3}{4/3}=\frac12$.

# %% tags=["export"]
def box_overlap(a, b):
    """Areas of intersection and union of boxes (..., n, 4), (..., m, 4).

    Both results have the shape (..., n, m).
    """
    ax1, ay1, ax2, ay2 = a[..., :, None, :].unbind(-1)  # (..., n, 1)
    bx1, by1, bx2, by2 = b[..., None, :, :].unbind(-1)  # (..., 1, m)
    width = torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)
    height = torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    inter = width.clamp(min=0) * height.clamp(min=0)
    areas = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)
    return inter, areas - inter


def box_iou(a, b):
    """IoU of float boxes (..., n, 4) with (..., m, 4): (..., n, m).

    It is 0 where both boxes are empty.
    """
    inter, union = box_overlap(a, b)
    return inter / union.clamp(min=torch.finfo(union.dtype).tiny)

# %% [markdown]
# IoU has a blind spot: it is 0 for all disjoint boxes, near or far, so a loss made of it has the gradient 0 there.
# The *generalized IoU* (Rezatofighi et al. 2019) also looks at the hull $C$, the smallest box around both:
#
# $$\mathrm{GIoU}(A,B)=\mathrm{IoU}(A,B)-\frac{|C|-|A\cup B|}{|C|}\in(-1,1]. \tag{14.4.3}$$
#
# Two unit squares with a gap of 1 between them have $|C|=3$ and $|A\cup B|=2$, hence $\mathrm{GIoU}=-\frac13$; with a wider gap it falls towards $-1$.

# %% tags=["export"]
def generalized_box_iou(a, b):
    """GIoU of float boxes (..., n, 4) with (..., m, 4): (..., n, m)."""
    inter, union = box_overlap(a, b)
    a, b = a[..., :, None, :], b[..., None, :, :]
    sides = (torch.maximum(a[..., 2:], b[..., 2:])
             - torch.minimum(a[..., :2], b[..., :2]))
    hull = sides.prod(-1)  # area of the smallest box around both
    tiny = torch.finfo(union.dtype).tiny
    return (inter / union.clamp(min=tiny)
            - (hull - union) / hull.clamp(min=tiny))

# %%
# check 14.4-C7: a third of a shift, a gap of one side, and torchvision
def random_boxes(n, rng, side=0.4):
    """Boxes (n, 4) in the unit square, sides up to `side`."""
    corner = torch.rand(n, 2, generator=rng) * (1 - side)
    sides = 0.01 + (side - 0.01) * torch.rand(n, 2, generator=rng)
    return torch.cat([corner, corner + sides], 1)


unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
third, gap = (unit + torch.tensor([d, 0, d, 0]) for d in (1 / 3, 2.0))
assert abs(box_iou(unit, third).item() - 0.5) < 1e-6
assert abs(generalized_box_iou(unit, gap).item() + 1 / 3) < 1e-6
rng = torch.Generator().manual_seed(0)
A, B = random_boxes(200, rng), random_boxes(200, rng)
giou = generalized_box_iou(A, B)  # (200, 200)
torch.testing.assert_close(giou, torchvision.ops.generalized_box_iou(A, B))
assert -1 < giou.min() < -0.5 and giou.max() <= 1
assert torch.equal(generalized_box_iou(A, A).diag(), torch.ones(200))

# %%
far = (unit + 5).requires_grad_()
slopes = [torch.autograd.grad(overlap(unit, far).sum(), far)[0].abs().sum()
          for overlap in (box_iou, generalized_box_iou)]
assert slopes[0] == 0 < slopes[1]
for overlap in (box_iou, generalized_box_iou):  # empty boxes
    assert overlap(0 * unit, 0 * unit) == 0

# %% tags=["hide-input"]
pairs = [[(0, 0, 1, 1), (1 / 3, 0, 4 / 3, 1)],
         [(0, 0, 1, 1), (0.4, 0.4, 1.4, 1.4)],
         [(0, 0, 1.2, 1.2), (0.3, 0.3, 0.9, 0.9)],
         [(0, 0, 1, 1), (2, 0, 3, 1)]]
_, axes = plt.subplots(1, 4, figsize=(7.4, 2), layout="constrained",
                       width_ratios=(1.5, 1.5, 1.3, 3))
for ax, both in zip(axes, pairs):
    one, two = (torch.tensor([box], dtype=torch.float32) for box in both)
    hull = [*torch.minimum(one, two)[0, :2], *torch.maximum(one, two)[0, 2:]]
    show_boxes(ax, [hull], colors="0.6")
    for box, color in ((one, "C0"), (two, "C1")):
        x1, y1, x2, y2 = box[0].tolist()
        ax.fill([x1, x2, x2, x1], [y1, y1, y2, y2], color=color, alpha=0.35)
        show_boxes(ax, box, colors=color)
    ax.set(xlim=(-0.1, hull[2] + 0.1), ylim=(hull[3] + 0.1, -0.1), aspect=1,
           title=f"IoU {box_iou(one, two).item():.2f}\n"
                 f"GIoU {generalized_box_iou(one, two).item():.2f}")
    ax.axis("off")
d2l.describe(axes, """Four pairs of boxes with their hulls. A shift by a third
    has IoU and GIoU 0.5; a diagonal shift by 0.4 has IoU 0.22 and GIoU 0.06;
    a box inside one of four times its area has 0.25 for both; two squares
    with a gap have IoU 0 and GIoU minus 0.33.""")

# %% [markdown]
# **Figure 14.4.2.** Four pairs of boxes; grey: the hull.
# GIoU is never larger than IoU, and equal to it where the union fills the hull.

# %% [markdown]
# ## Which object an anchor answers for
#
# To train, we need for each anchor the right answer.
# Let $X\in\mathbb{R}^{n\times m}$ hold the IoU of $n$ anchors with the $m$ true boxes, or truths, of a picture.
# Two rules decide, in this order:
#
# 1. **Each object gets an anchor of its own.** Take the largest entry $x_{ij}$, assign truth $j$ to anchor $i$, delete row $i$ and column $j$, and repeat until no row or no column is left.
# 2. **Good anchors help.** Each other anchor gets the truth with which it overlaps most, if that IoU is at least 0.5.
#
# Anchors with a truth are called *positive*, all others *negative*; the right answer of a negative one is "background".
# Without the first rule an object that fits no anchor well would be nobody's task; without the second all the near misses would be trained to say "background".
#
# Faster R-CNN (Ren et al. 2015) has both rules, with 0.7 in the second, and takes as negative only anchors whose IoU with every truth is below 0.3; those in between do not enter its loss.
# SSD (Liu et al. 2015) has both rules with 0.5.
# Both papers say for the first rule that each object takes the anchor with which it overlaps most.
# If two objects want the same anchor, one of them would be left without; deleting rows and columns, as in the original code of SSD, prevents it.
#
# Here is the procedure for two truths and five anchors, first step by step.

# %%
truth = torch.tensor([[0.1, 0.08, 0.52, 0.92], [0.55, 0.2, 0.9, 0.88]])
five = torch.tensor([[0, 0.1, 0.2, 0.3], [0.15, 0.2, 0.4, 0.4],
                     [0.63, 0.05, 0.88, 0.98], [0.66, 0.45, 0.8, 0.8],
                     [0.57, 0.3, 0.92, 0.9]])


def greedy(iou, threshold=0.5):
    """Assignment (n,) by the two rules, and what each step left."""
    n, m = iou.shape
    assigned, left, steps = torch.full((n,), -1), iou.clone(), []
    for _ in range(min(n, m)):  # rule 1
        steps.append(left.clone())
        i, j = divmod(left.argmax().item(), m)
        assigned[i] = j
        left[i], left[:, j] = -1, -1
    most, best = iou.max(1)
    good = (assigned < 0) & (most >= threshold)  # rule 2
    assigned[good] = best[good]
    return assigned, steps


X = box_iou(five, truth)  # (5, 2)
slow, steps = greedy(X)
print(slow.tolist())

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 4, figsize=(7.6, 2.7), layout="constrained",
                       width_ratios=(2, 1, 1, 1))
axes[0].set(xlim=(-0.03, 1), ylim=(1, 0), title="five anchors, two truths")
axes[0].set_aspect("equal")
for (x1, y1, x2, y2), color in zip(truth.tolist(), ("C0", "C1")):
    axes[0].fill([x1, x2, x2, x1], [y1, y1, y2, y2], color=color, alpha=0.3)
show_boxes(axes[0], five, [*"01234"], ["0.45" if j < 0 else f"C{j}"
                                       for j in slow.tolist()])
titles = ("largest entry", "largest of the rest", "rest: 0.5 or more")
taken = [[(4, 1)], [(4, 1), (1, 0)], [(4, 1), (1, 0), (2, 1)]]
gone = [torch.zeros(5, 2), (steps[1] < 0).float(), torch.zeros(5, 2)]
gone[2][[1, 4]] = 1
for ax, title, chosen, grey in zip(axes[1:], titles, taken, gone):
    ax.imshow(grey * 0.3, cmap="Greys", vmin=0, vmax=1, aspect=0.5)
    for (i, j), value in zip([(i, j) for i in range(5) for j in range(2)],
                             X.flatten().tolist()):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=9)
    for i, j in chosen:
        ax.add_patch(plt.Rectangle((j - 0.46, i - 0.42), 0.92, 0.84, lw=2.2,
                                   fill=False, edgecolor=f"C{j}"))
    ax.set(title=title, yticks=range(5), xticks=(0, 1), xlabel="truth")
    ax.set_xticklabels(["0", "1"])
    ax.grid(False)
axes[1].set_ylabel("anchor")
d2l.describe(axes, """Two filled truths and five anchors; the IoU matrix three
    times. First entry 0.75 of anchor 4 and truth 1 is framed; with row 4 and
    column 1 greyed out, 0.14 of anchor 1 and truth 0; at last, among anchors
    0, 2 and 3, entry 0.57 of anchor 2 and truth 1.""")

# %% [markdown]
# **Figure 14.4.3.** The assignment, step by step; colours are truths, grey is deleted.
# Anchor 1 becomes positive with an IoU of only 0.14, because no other anchor is better for truth 0.

# %% [markdown]
# Step by step is slow: one search of the whole matrix for each object of each picture of each batch.
# But there is no need to go one by one.
# If an entry is the largest of its row *and* of its column, no pair that greedy takes earlier can delete it, because such a pair would lie in its row or column and be larger.
# So all entries of this kind can be taken at once, for all pictures; then rows and columns are deleted and the next round begins.
# The largest entry of what is left is always among them, so there are at most $m$ rounds.
# (Equal entries count by their position, first row first, as in `argmax`.)

# %% tags=["export"]
def assign_anchors(truth, anchors, threshold=0.5, real=None):
    """Which truth each anchor answers for: (..., n), -1 for none.

    truth (..., m, 4) and anchors (n, 4) are boxes; `real` (..., m) is False
    for truths to be left out. First pairs are taken greedily, by falling
    IoU, until every truth has an anchor of its own; each other anchor gets
    the truth with which it overlaps most, if that IoU is at least
    `threshold`. Greedy pairs are found in rounds: a pair whose IoU is the
    largest of its row and of its column is one of them, whatever the rest.
    """
    n, m = len(anchors), truth.shape[-2]
    if n == 0 or m == 0:
        return truth.new_full((*truth.shape[:-2], n), -1, dtype=torch.long)
    left = box_iou(anchors, truth)  # (..., n, m)
    if real is not None:
        left = left.masked_fill(~real[..., None, :], -1)
    most, best = left.max(-1)
    assigned = torch.where(most >= threshold, best, -1)
    i, j = (torch.arange(k, device=anchors.device) for k in (n, m))
    for _ in range(m):
        most, best = left.max(-1)  # of each anchor, (..., n)
        first = left.argmax(-2)  # anchor of each truth, (..., m)
        taken = (first.gather(-1, best) == i) & (most >= 0)
        if not taken.any():
            break
        assigned = torch.where(taken, best, assigned)
        done = (best.gather(-1, first) == j)[..., None, :]
        left = left.masked_fill(taken[..., None] | done, -1)
    return assigned

# %% [markdown]
# The cell below compares with the slow version, on random boxes and on boxes with coordinates in eighths, which have many equal IoUs.

# %%
for seed in range(num_seeds):
    rng = torch.Generator().manual_seed(seed)
    truths = torch.stack([random_boxes(12, rng) for _ in range(3)])
    for n in (150, 8):  # many anchors, and fewer anchors than truths
        boxes = random_boxes(n, rng)
        if seed % 2:
            truths, boxes = (truths * 8).round() / 8, (boxes * 8).round() / 8
        fast = assign_anchors(truths, boxes)  # (3, n)
        for k in range(3):
            slow = greedy(box_iou(boxes, truths[k]))[0]
            assert torch.equal(fast[k], slow)
assert (assign_anchors(truth[:0], five) == -1).all()  # no object
assert assign_anchors(truths, five[:0]).shape == (3, 0)  # no anchor

# %% [markdown]
# ## From a box to numbers, and back
#
# A positive anchor also has to say where its object is, relative to itself: moving or scaling both alike must not change the numbers.
# With centers $(x,y)$, widths and heights $(w,h)$, index $a$ for the anchor and $b$ for the true box, the *offsets* are
#
# $$\Big(\frac{x_b-x_a}{0.1\,w_a},\ \frac{y_b-y_a}{0.1\,h_a},\ \frac{\log(w_b/w_a)}{0.2},\ \frac{\log(h_b/h_a)}{0.2}\Big). \tag{14.4.4}$$
#
# The logarithm makes "twice as wide" and "half as wide" equally far from 0, and its inverse can only give positive sides.
# The general form is $\frac{t-\mu}\sigma$ for each of the four raw offsets $t$, such as $\frac{x_b-x_a}{w_a}$, with a shift $\mu$ and a scale $\sigma$; here $\mu=0$ and $\sigma=0.1,0.1,0.2,0.2$, as in torchvision's SSD, while its RetinaNet has $\sigma=1$.

# %% tags=["export"]
def offset_boxes(anchors, boxes):
    """Offsets (..., 4) that lead from anchors (..., 4) to boxes (..., 4)."""
    a, b = box_corner_to_center(anchors), box_corner_to_center(boxes)
    shift = (b[..., :2] - a[..., :2]) / a[..., 2:]
    return torch.cat([shift / 0.1, (b[..., 2:] / a[..., 2:]).log() / 0.2], -1)


def offset_inverse(anchors, offsets):
    """The boxes (..., 4) to which offsets (..., 4) lead from anchors."""
    a = box_corner_to_center(anchors)
    center = a[..., :2] + 0.1 * offsets[..., :2] * a[..., 2:]
    sides = (0.2 * offsets[..., 2:]).exp() * a[..., 2:]
    return box_center_to_corner(torch.cat([center, sides], -1))

# %%
# check 14.4-C5: decode(encode) is the identity
rng = torch.Generator().manual_seed(1)
A, B = random_boxes(1000, rng), random_boxes(1000, rng)
torch.testing.assert_close(offset_inverse(A, offset_boxes(A, B)), B,
                           rtol=0, atol=1e-5)
moved = offset_boxes(A * 3 + 0.5, B * 3 + 0.5)  # scaled and shifted alike
torch.testing.assert_close(moved, offset_boxes(A, B), rtol=1e-3, atol=1e-3)
assert offset_boxes(A, B).abs().mean() > 1

# %% [markdown]
# `multibox_target` puts assignment and offsets together for a batch.
# The pictures of a batch have different numbers of objects; their labels are padded to equal length with rows of class $-1$, and those must go *before* the first rule is applied, which would give each of them an anchor.

# %% tags=["export"]
def multibox_target(anchors, labels, threshold=0.5):
    """What a detector should answer at each anchor.

    anchors (n, 4); labels (b, m, 5): class, x1, y1, x2, y2. Rows of a
    negative class are padding; they and empty boxes are left out. Returns
    offsets (b, n, 4), which are 0 at the background; mask (b, n), True at
    anchors with a truth; classes (b, n), 0 at the background and the
    truth's class plus 1 elsewhere.
    """
    labels = F.pad(labels, (0, 0, 0, 1), value=-1)  # at least one row
    kind, truth = labels[..., 0].long(), labels[..., 1:]
    real = (kind >= 0) & (truth[..., 2:] > truth[..., :2]).all(-1)
    assigned = assign_anchors(truth, anchors, threshold, real)  # (b, n)
    mask, row = assigned >= 0, assigned.clamp(min=0)
    boxes = truth.gather(1, row[..., None].expand(-1, -1, 4))
    boxes = torch.where(mask[..., None], boxes, anchors)
    return (offset_boxes(anchors, boxes), mask,
            torch.where(mask, kind.gather(1, row) + 1, 0))

# %%
# check 14.4-C4: IoU, classes and offsets of the five anchors
example = torch.cat([torch.tensor([[0.0], [1.0]]), truth], 1)[None]
offsets, mask, classes = multibox_target(five, example)
expected = torch.tensor([[0.0536, 0.1417, 0, 0, 0],
                         [0, 0, 0.5657, 0.2059, 0.7459]])
torch.testing.assert_close(X.T, expected, rtol=0, atol=1e-4)
assert classes.tolist() == [[0, 1, 2, 0, 2]]
expected = torch.tensor([[0, 0, 0, 0], [1.4, 10, 2.594, 7.1754],
                         [-1.2, 0.2688, 1.6824, -1.5655], [0, 0, 0, 0],
                         [-0.5714, -1, 0, 0.6258]])
torch.testing.assert_close(offsets[0], expected, rtol=0, atol=1e-4)
assert torch.equal(mask, classes > 0)
edge = torch.tensor([[0, 0, 1, 1], [0, 0, 0.5, 1], [0, 0, 0.49, 1]])
at_edge = multibox_target(edge, torch.tensor([[[0, 0.0, 0, 1, 1]]]))[1]
assert at_edge.tolist() == [[True, True, False]]  # IoU 1, 0.5 and 0.49

# %%
# check 14.4-C8: rows of padding and empty boxes never become positives
rows = torch.tensor([[-1.0, -1, -1, -1, -1], [-1, 0.6, 0.1, 0.9, 0.9],
                     [1, 0.3, 0.3, 0.3, 0.5]])
padded = torch.cat([rows, example[0]])[None]  # (1, 5, 5)
for got, want in zip(multibox_target(five, padded), (offsets, mask, classes)):
    assert torch.equal(got, want)
for nothing in (rows[None], rows[None, :0]):
    assert not any(part.any() for part in multibox_target(five, nothing))

# %% [markdown]
# All of this works on any device; if yours has an accelerator, the next cell compares it with the CPU.

# %%
device = d2l.try_device(quiet=True)
there = multibox_target(five.to(device), padded.to(device))
for got, want in zip(there, (offsets, mask, classes)):
    assert got.device.type == device.type
    torch.testing.assert_close(got.cpu(), want, rtol=1e-4, atol=1e-4)
assert multibox_prior(2, 2, [0.5], [1.0], device="meta").device.type == "meta"

# %% [markdown]
# The code of the textbook mentioned above assigns anchors to rows of padding, too: they are labelled background, but their offsets, to a box that does not exist, enter the loss.
#
# Now the real labels.
# As anchors we take squares of 14, 38 and 75 pixels on the 24x32 cells of a picture reduced to 256x192: 2304 anchors, chosen in [Section 14.5](05-multiscale.ipynb) after the sizes of the three kinds.

# %%
anchors = multibox_prior(24, 32, [14 / 192, 38 / 192, 75 / 192], [1.0])


def batch_labels(items):
    """Relative labels of several pictures, padded: (b, m, 5)."""
    return torch.nn.utils.rnn.pad_sequence(
        [boxes / scale for _, boxes in items], batch_first=True,
        padding_value=-1)


train = batch_labels(splits["train"])
offsets, mask, classes = multibox_target(anchors, train)
best = box_iou(anchors, train[..., 1:]).amax(1)  # of each truth, (b, m)
lost = {kind: (best[train[..., 0] == k] < 0.5).float().mean().item()
        for k, kind in enumerate(CELLS)}
raw = offsets[mask] * torch.tensor([0.1, 0.1, 0.2, 0.2])
print(f"positive anchors: {mask.float().mean():.3f}")
print("truths without an anchor of IoU 0.5:", {
    kind: round(share, 3) for kind, share in lost.items()})
print("standard deviation of the raw offsets:",
      [round(x, 2) for x in raw.std(0).tolist()])
finer = multibox_prior(48, 64, [14 / 192, 38 / 192, 75 / 192], [1.0])
platelets = train[train[..., 0] == 2][:, 1:]
rest = (box_iou(finer, platelets).amax(0) < 0.5).float().mean().item()
print(f"platelets without such an anchor on 48x64 cells: {rest:.3f}")

# %%
if found.is_real:
    assert abs(mask.float().mean() - 0.037) < 0.002
    assert max(lost["RBC"], lost["WBC"]) < 0.01 < 0.3 < lost["Platelets"] < 0.5
    assert ((0.13 < raw.std(0)) & (raw.std(0) < 0.17)).all()
    assert 0.08 < rest < 0.14  # about one in nine
some = train[:10]
real = some[..., 0] >= 0
hits = F.one_hot(assign_anchors(some[..., 1:], anchors, 0.5, real) + 1,
                 some.shape[1] + 1).sum(1)[:, 1:]  # anchors of each truth
assert (hits[real] >= 1).all() and (hits[~real] == 0).all()

# %% tags=["hide-input"]
_, positive, kinds = (part[0] for part in multibox_target(
    anchors, labels[None]))
paint = ["C1", "C0", "C2"]  # red cells, white cells, platelets
_, ax = plt.subplots(figsize=(4.4, 3.3), layout="constrained")
show_photo(ax, grey=True)
for k in range(3):
    show_boxes(ax, anchors[kinds == k + 1], colors=paint[k])
for patch in ax.patches:
    patch.set_linewidth(0.8)
for text, color in zip(CELLS, paint):
    ax.plot([], [], color=color, label=text)
ax.legend(loc="upper center", ncol=3, bbox_to_anchor=(0.5, 0), fontsize=8)
ax.set(xlim=(0, 1), ylim=(1, 0))
d2l.describe(ax, """The same photograph with its positive anchors: bundles of
    slightly shifted squares around the white cell and each labelled red
    cell, a single small square at each platelet.""")

# %% [markdown]
# **Figure 14.4.4.** The positive anchors of one picture.
# The white cell has many, a platelet one.
#
# Three numbers deserve attention.
# Fewer than 4 % of the anchors are positive, an imbalance that the loss of [Section 14.7](07-ssd.ipynb) must handle.
# Between 30 and 50 % of the platelets have no anchor of IoU 0.5: they depend on the first rule.
# For most of those the distance of 8 pixels between anchors is too large: with anchors of the same sizes at half the distance, only about one platelet in nine is left.
# Exercise 4 derives that on average about $\frac14(\text{side}/\text{distance})^2$ anchors of the *right* size reach an IoU of 0.5, which for 14 pixels is less than one.
# And the raw offsets, before the division by $\sigma$, have standard deviations of about 0.15, so 0.1 and 0.2 bring the four targets to the order of 1.

# %% [markdown]
# ## From answers to a list: non-maximum suppression
#
# At prediction time many anchors near an object answer, and each claims it.
# *Non-maximum suppression* (NMS) keeps the best of them: go through the boxes by falling score, and keep a box if its IoU with every box kept so far is at most a threshold $\epsilon$.

# %%
def nms_in_order(boxes, scores, threshold):
    """Positions that greedy suppression keeps, one after the other."""
    iou, kept = box_iou(boxes, boxes).tolist(), []
    for i in sorted(range(len(boxes)), key=scores.tolist().__getitem__,
                    reverse=True):
        if all(iou[i][k] <= threshold for k in kept):
            kept.append(i)
    return kept


# %% [markdown]
# Again there is a version in rounds.
# Sorted by score, box $i$ is kept if and only if no kept box $j<i$ overlaps it too much.
# Start with all boxes kept and evaluate this condition for all $i$ at once, again and again.
# The first box is right from the start, and once the first $k$ boxes are right, the next round gets box $k+1$ right and leaves the first $k$ alone; so the process ends at the greedy answer, after at most as many rounds as there are boxes.
# This is the Cluster-NMS of Zheng et al. (2020), meant for GPUs, where a few large steps can cost less than many small ones.

# %% tags=["export"]
def nms(boxes, scores, threshold, classes=None):
    """Non-maximum suppression: kept positions (k,), by falling score.

    A box falls if its IoU with a kept box of higher score exceeds
    `threshold`; with `classes` (n,), only boxes of one class compete.
    Equal scores stand in the order of the boxes. Each round settles at
    least one more box; when nothing changes, the answer is the greedy one.
    """
    order = scores.argsort(descending=True, stable=True)
    sorted_boxes = boxes[order]
    beats = (box_iou(sorted_boxes, sorted_boxes) > threshold).triu(1)
    if classes is not None:
        beats &= classes[order, None] == classes[order]
    kept, before = torch.ones_like(order, dtype=torch.bool), None
    while before is None or not torch.equal(kept, before):
        kept, before = ~(beats & kept[:, None]).any(0), kept
    return order[kept]


def batched_nms(boxes, scores, classes, threshold):
    """Non-maximum suppression within each class: kept positions (k,)."""
    return nms(boxes, scores, threshold, classes)

# %%
# check 14.4-C3: IoU and NMS agree with torchvision exactly
for seed in range(num_seeds):
    rng = torch.Generator().manual_seed(seed)
    boxes, scores = random_boxes(200, rng), torch.rand(200, generator=rng)
    if seed % 2:
        scores = scores.mul(10).round()  # many ties
    assert torch.equal(box_iou(boxes, boxes),
                       torchvision.ops.box_iou(boxes, boxes))
    for threshold in (0.1, 0.3, 0.6):
        kept = nms(boxes, scores, threshold)
        assert torch.equal(kept, torchvision.ops.nms(boxes, scores, threshold))
        assert kept.tolist() == nms_in_order(boxes, scores, threshold)
        assert 5 < len(kept) < 200
assert nms(boxes[:0], scores[:0], 0.5).shape == (0,)
half = torch.tensor([[0.0, 0, 1, 1], [0.0, 0, 0.5, 1]])  # IoU exactly 0.5
assert nms(half, torch.tensor([0.3, 0.6]), 0.5).tolist() == [1, 0]

# %% [markdown]
# A dog in front of a cat is no duplicate of the cat, so boxes of different classes must not compete.
# `batched_nms` lets only boxes of one class suppress each other.
# (Another way is to shift the boxes of each class to a place of its own; the shift costs digits, because the numbers grow.)
# The textbook's code suppresses across classes.

# %%
# check 14.4-C9: within classes only, as torchvision does
pair = torch.tensor([[0.1, 0.1, 0.6, 0.9], [0.12, 0.1, 0.62, 0.9]])
confidence = torch.tensor([0.9, 0.8])
assert box_iou(pair, pair)[0, 1] > 0.9
assert nms(pair, confidence, 0.5).tolist() == [0]
assert batched_nms(pair, confidence, torch.tensor([0, 1]), 0.5).tolist() == [
    0, 1]
for seed in range(num_seeds):
    rng = torch.Generator().manual_seed(seed)
    boxes = random_boxes(200, rng).double()  # so that a shift costs nothing
    scores = torch.rand(200, generator=rng).double()
    kind = torch.randint(3, (200,), generator=rng)
    kept = batched_nms(boxes, scores, kind, 0.3)
    assert torch.equal(kept, torchvision.ops.batched_nms(boxes, scores, kind,
                                                         0.3))
    assert torch.equal(kept, nms(boxes + 2 * kind[:, None], scores, 0.3))

# %% [markdown]
# `multibox_detection` does the whole way back: decode, choose a class for each anchor, drop low scores, suppress.

# %% tags=["export"]
@torch.no_grad()
def multibox_detection(cls_probs, offsets, anchors, nms_threshold=0.5,
                       score_threshold=0.01, candidates=1000):
    """Boxes with class and score from a detector's answers: (b, n, 6).

    cls_probs (b, q + 1, n), background first; offsets (b, n, 4), or
    (b, 4 n). Rows are class, score, x1, y1, x2, y2, by falling score;
    each anchor speaks for its likeliest object class, if that has at least
    `score_threshold`; of those, the `candidates` of highest score enter
    suppression, per class. Unused rows are -1. No gradients are recorded.
    """
    boxes = offset_inverse(anchors, offsets.reshape(len(offsets), -1, 4))
    scores, kinds = cls_probs[:, 1:].max(1)  # (b, n)
    found = boxes.new_full((*scores.shape, 6), -1)
    for rows, box, score, kind in zip(found, boxes, scores, kinds,
                                      strict=True):
        some = score.argsort(descending=True, stable=True)[:candidates]
        some = some[score[some] >= score_threshold]
        kept = some[batched_nms(box[some], score[some], kind[some],
                                nms_threshold)]
        rows[:len(kept)] = torch.cat([kind[kept, None], score[kept, None],
                                      box[kept]], 1)
    return found

# %%
# check 14.4-C6: three dogs and a cat
four = torch.tensor([[0.1, 0.08, 0.52, 0.92], [0.08, 0.2, 0.56, 0.95],
                     [0.15, 0.3, 0.62, 0.91], [0.55, 0.2, 0.9, 0.88]])
probs = torch.tensor([[[0.0, 0, 0, 0], [0.9, 0.8, 0.7, 0.1],
                       [0.1, 0.2, 0.3, 0.9]]])  # background, dog, cat
overlap = box_iou(four, four)
torch.testing.assert_close(overlap[0, 1:3], torch.tensor([0.7368, 0.5454]),
                           rtol=0, atol=1e-4)
for threshold, want in ((0.5, [0, 3]), (0.6, [0, 3, 2])):
    rows = multibox_detection(probs, torch.zeros(1, 16), four, threshold)[0]
    torch.testing.assert_close(rows[:len(want), 2:], four[want])
    assert rows[:2, 0].tolist() == [0, 1] and rows[0, 1] == rows[1, 1]
    assert (rows[len(want):] == -1).all() and rows.shape == (4, 6)
by_default = multibox_detection(probs, torch.zeros(1, 16), four)[0]
assert (by_default[:, 0] >= 0).sum() == 2  # a threshold of 0.5
cat_in_front = probs[:, [0, 2, 1]][..., [1]]  # the second box, now a cat
mixed = torch.cat([probs[..., :1], cat_in_front, probs[..., 2:]], 2)
rows = multibox_detection(mixed, torch.zeros(1, 16), four)[0]
assert rows[:3, 0].tolist() == [0, 1, 1]  # it survives
for least, candidates, want in ((0.75, 9, 3), (0.8, 9, 3), (0.01, 2, 2)):
    rows = multibox_detection(probs, torch.zeros(1, 4, 4, requires_grad=True),
                              four, 0.9, least, candidates)[0]
    assert (rows[:, 0] >= 0).sum() == want and not rows.requires_grad

# %%
# the defaults: a score of 0.01, 1000 candidates, a threshold of 0.5
crowd = multibox_prior(30, 40, [0.02], [1.0])  # 1200 boxes, none touching
for score, want in ((0.0099, 0), (0.0101, 1000)):
    rows = multibox_detection(torch.full((2, 2, 1200), score),
                              torch.zeros(2, 4800), crowd)
    assert (rows[..., 0] >= 0).sum(1).tolist() == [want, want]
rows = multibox_detection(torch.full((1, 2, 2), 0.9), torch.zeros(1, 8), half)
assert (rows[..., 0] >= 0).sum() == 2  # their IoU is 0.5, not more

# %% [markdown]
# ### What suppression keeps and what it deletes
#
# We have no detector yet, so we make up the answers of an imaginary one: the anchors that are positive at a threshold of 0.35 answer with the right class, with their IoU as score, and with the right offsets; to scores and offsets we add normal noise, of standard deviation 0.05 and 0.5 at a noise of 0.5.

# %%
def imagined(labels, noise, rng):
    """Probabilities (b, 4, n) and offsets (b, n, 4), nearly right."""
    offsets, mask, classes = multibox_target(anchors, labels, 0.35)
    target = offset_inverse(anchors, offsets)
    fit = box_iou(anchors[:, None], target[:, :, None])[..., 0, 0]  # (b, n)
    score = fit + 0.1 * noise * torch.randn(fit.shape, generator=rng)
    score = score.clamp(0.01, 0.99) * mask
    probs = F.one_hot(classes, 4).mT * score[:, None]
    return probs, offsets + noise * torch.randn(offsets.shape, generator=rng)


answers = imagined(labels[None], 0.5, torch.Generator().manual_seed(0))
kept = {epsilon: multibox_detection(*answers, anchors, epsilon)[0]
        for epsilon in (0.4, 1.0)}
kept = {key: rows[rows[:, 0] >= 0] for key, rows in kept.items()}
print({key: len(rows) for key, rows in kept.items()}, len(labels), "truths")

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 2.9), layout="constrained")
for ax, epsilon in zip(axes, (1.0, 0.4)):
    rows = kept[epsilon]
    show_photo(ax, grey=True)
    show_boxes(ax, rows[:, 2:], colors=[paint[int(k)] for k in rows[:, 0]])
    for patch in ax.patches:
        patch.set_linewidth(0.5 if len(rows) > 100 else 1.5)
    ax.set(xlim=(0, 1), ylim=(1, 0), title=f"{len(rows)} boxes")
d2l.describe(axes, """Left all boxes of the imaginary detector, thick bundles
    around each cell; right what suppression at 0.4 leaves, one box for each
    cell that has a label.""")

# %% [markdown]
# **Figure 14.4.5.** The imaginary detector's boxes before suppression, and after it with $\epsilon=0.4$.

# %% tags=["hide-input"]
def draw(fig, threshold):
    rows = multibox_detection(*answers, anchors, threshold)[0]
    rows = rows[rows[:, 0] >= 0]
    ax = fig.subplots()
    for x1, y1, x2, y2 in labels[:, 1:].tolist():
        ax.fill([x1, x2, x2, x1], [y1, y1, y2, y2], color="0.85")
    show_boxes(ax, rows[:, 2:], colors=[paint[int(k)] for k in rows[:, 0]])
    ax.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect=0.75,
           title=f"threshold {threshold:.1f}: {len(rows)} boxes, "
                 f"{len(labels)} truths")


d2l.sliders(draw, """The truths in grey and the boxes that suppression keeps.
    At 0.1 and 0.2 one of two overlapping red cells has no box; from 0.3 to
    0.5 each truth has one; above, more and more cells have several.""",
            figsize=(3.8, 2.9),
            threshold=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])

# %% [markdown]
# **Figure 14.4.6.** Move the threshold: truths in grey, kept boxes in the colours of their class.
#
# Count both kinds of error over the 87 pictures of the validation set: truths without a box of their own (same class, IoU at least 0.5, pairs taken greedily as in rule 1), and boxes without a truth.

# %%
val = batch_labels(splits["val"])
thresholds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def errors(found, labels):
    """Truths without a box, and boxes without a truth."""
    missed = extra = 0
    for rows, truths in zip(found, labels):
        rows, truths = rows[rows[:, 0] >= 0], truths[truths[:, 0] >= 0]
        boxes = rows[:, 2:] + 2 * rows[:, :1]  # each class in its own place
        truths = truths[:, 1:] + 2 * truths[:, :1]
        which = assign_anchors(truths, boxes, threshold=2)
        own = which >= 0
        fits = box_iou(boxes[own, None], truths[which[own], None])
        hits = (fits >= 0.5).sum().item()
        missed, extra = missed + len(truths) - hits, extra + len(boxes) - hits
    return missed, extra


table = {}
for noise, seeds in ((0.0, 1), (0.5, 3)):
    runs = [imagined(val, noise, torch.Generator().manual_seed(seed))
            for seed in range(seeds)]
    table[noise] = torch.tensor([[errors(multibox_detection(
        *run, anchors, epsilon), val) for epsilon in thresholds]
        for run in runs]).float()  # (seeds, thresholds, 2)

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 2.7), sharey=True,
                       layout="constrained")
for ax, (noise, counts) in zip(axes, table.items()):
    for column, (name, style) in enumerate((("truths without a box", "o-"),
                                            ("boxes without a truth", "s--"))):
        ax.plot(thresholds, counts[..., column].mean(0), style,
                color=f"C{column}", label=name)
    ax.set_yscale("symlog", linthresh=1)
    ax.set(xlabel=r"threshold $\epsilon$", title=f"noise {noise}",
           yticks=[0, 1, 10, 100, 1000], ylim=(-0.3, 5000))
    ax.set_yticklabels(["0", "1", "10", "100", "1000"])
axes[0].set_ylabel("number, 87 pictures")
axes[0].legend(fontsize=8)
d2l.describe(axes, """Errors against the threshold. Exact answers: missing
    truths fall from over a hundred at 0.1 to three at 0.5, no superfluous
    box. Noisy answers: missing truths fall alike, superfluous boxes rise
    from almost none at 0.3 to thousands at 0.7.""")

# %% [markdown]
# **Figure 14.4.7.** Left: an imaginary detector that makes no error at all still loses true boxes, by suppression.
# Right: with noise (mean of three seeds), a low threshold costs objects and a high one leaves duplicates.

# %%
# each truth once, twice, and as another class
right = torch.cat([labels[:, :1], 0 * labels[:, :1] + 1, labels[:, 1:]], 1)
wrong = torch.cat([(right[:, :1] + 1) % 3, right[:, 1:]], 1)
for rows, want in ((right, (0, 0)), (right.repeat(2, 1), (0, len(labels))),
                   (torch.cat([wrong, right]), (0, len(labels))),
                   (wrong, (len(labels), len(labels)))):
    assert errors(rows[None], labels[None]) == want

# %%
# without suppression (a threshold of 1) exact answers miss nothing
exact, noisy = table[0.0], table[0.5]
everything_kept = multibox_detection(*imagined(
    val, 0, torch.Generator().manual_seed(0)), anchors, 1.0)
assert errors(everything_kept, val)[0] == 0
missed, extra = exact[0].T
assert (extra == 0).all() and (missed[:-1] >= missed[1:]).all()
for missed_too, extra in noisy.mT:  # one seed each
    assert extra[6] > 20 * extra[2] and missed_too[0] > 2 * missed_too[4]
if found.is_real:
    assert len(val) == 87 and int((val[..., 0] >= 0).sum()) == 1138  # truths
    assert missed[0] > 100 and missed[4] == 3

# %% [markdown]
# Which true boxes does a faultless detector lose?
# Those that overlap another one of their class.
# They need not be objects of their own.
# We suppress the *true* boxes of all 364 pictures, with random scores, and list the pairs above 0.5.

# %%
# check 14.4-C10: 14 pairs of true boxes overlap by more than a half
pairs, removed = [], {}
for threshold in (0.5, 0.2, 0.1):
    removed[threshold] = [0, 0]  # within classes, across classes
    for path, boxes in everything:
        score = torch.rand(len(boxes), generator=torch.Generator(
        ).manual_seed(0))
        removed[threshold][0] += len(boxes) - len(batched_nms(
            boxes[:, 1:], score, boxes[:, 0], threshold))
        removed[threshold][1] += len(boxes) - len(nms(
            boxes[:, 1:], score, threshold))
for path, boxes in everything:
    for i, j in (box_iou(boxes[:, 1:], boxes[:, 1:]).triu(1) > 0.5).nonzero():
        pairs.append((path, boxes[i], boxes[j]))
step = torch.tensor([0.0, 2, 2, 2, 2])
copies = [path for path, a, b in pairs
          if torch.equal(a - b, step) or torch.equal(b - a, step)]
across = max(box_iou(boxes[:, 1:], boxes[:, 1:])[
    boxes[:, None, 0] != boxes[:, 0]].amax().item()
    for _, boxes in everything if len(boxes[:, 0].unique()) > 1)
print(f"{len(pairs)} pairs, {len(copies)} of them shifted by exactly 2 pixels;"
      f" removed within and across classes: {removed};"
      f" largest IoU across classes: {across:.2f}")
if found.is_real:
    assert len(everything) == 364 and len(pairs) == 14 and len(copies) == 7
    assert all(a[0] == b[0] == 0 for _, a, b in pairs)  # red cells
    assert removed[0.5] == [13, 13] and removed[0.1][1] > removed[0.1][0]
    assert 0.1 < across < 0.2

# %% tags=["hide-input"]
names = ("BloodImage_00020", "BloodImage_00295", "BloodImage_00032")
shown = [next((pair for pair in pairs if pair[0].stem == name), None)
         for name in names]
shown = shown if all(shown) else pairs[:3]
_, axes = plt.subplots(1, 3, figsize=(6.6, 2.4), layout="constrained")
fits = []
for ax, (path, *both) in zip(axes, shown):
    both = torch.stack(both)[:, 1:]
    x, y = box_corner_to_center(both).mean(0)[:2].int().tolist()
    x, y = min(max(x, 90), 550), min(max(y, 90), 390)
    view = read_images([path], (240, 320))[0].permute(1, 2, 0)
    ax.imshow(view[y // 2 - 45:y // 2 + 45, x // 2 - 45:x // 2 + 45],
              extent=(x - 90, x + 90, y + 90, y - 90),
              interpolation="nearest")
    show_boxes(ax, both, colors=["C0", "C1"])
    ax.axis("off")
    fits.append(box_iou(both[:1], both[1:]).item())
    ax.set_title(f"IoU {fits[-1]:.2f}")
if found.is_real:  # one cell, shifted boxes; two cells
    assert fits[1] < fits[2]
d2l.describe(axes, """Three pieces of photographs with two labelled boxes each.
    Left two nearly equal boxes around one red cell; middle two boxes on one
    red cell, shifted against each other; right two boxes in a clump of
    overlapping red cells.""")

# %% [markdown]
# **Figure 14.4.8.** Three of the 14 pairs: one cell labelled twice, with a copy shifted by two pixels; two boxes on what looks like one cell; two boxes in what looks like a clump.
#
# In seven of the 14 pairs one box is a copy of the other, shifted by exactly two pixels in both directions: errors of the labels, found by a suppression that was meant for detections.
# Of the other seven, at least three look like one cell with two different boxes; the middle picture shows one of them.
# Clumps are the other case: on the right, suppression deletes what looks like a real neighbour.
# It cannot tell a neighbour from a duplicate, because it sees boxes and not cells: the two boxes in the clump overlap more than the two boxes on one cell.
# (That clump has three boxes in two of the pairs, and one deletion settles both; so the 14 pairs cost 13 boxes.)
# Suppression across classes does no further harm to these true boxes down to a threshold of 0.2, because no two boxes of different kinds overlap by that much; at 0.1 it does.
# Whether it matters depends on the data: think of a rider and a horse.

# %% [markdown]
# ## Where this stands today
#
# Since Faster R-CNN and SSD (2015) the assignment has changed more than once.
#
# | assignment | an object's positives | suppression |
# | --- | --- | --- |
# | by IoU (this section) | anchors of IoU 0.5 or more, at least one | needed |
# | by place: FCOS (2019) | cells inside the box, on the map meant for its size; no anchors | needed |
# | by cost: SimOTA in YOLOX (2021) | a few cells near it, those whose predictions cost least | needed |
# | one to one: DETR (2020), YOLOv10 (2024) | one prediction | not needed |
#
# Zhang et al. (2019) let a detector with anchors and one without use the same definition of positives, and found no obvious difference left: in their comparison, with one anchor at each place, the choice of positives made the difference, not whether boxes were predicted from anchors or from points.
# Matching one to one is what [Section 14.8](08-rcnn.ipynb) trains.
# YOLOv10 trains two heads, with many positives for each object and with one, and predicts with the second alone; YOLO26 does so by default.
#
# ## Summary
#
# - An anchor of size $s$ and ratio $r$ is $hs\sqrt r$ by $hs/\sqrt r$ pixels; $n$ sizes and $m$ ratios give $n+m-1$ anchors at each cell.
# - Each truth first gets an anchor of its own, greedily; then anchors of IoU 0.5 or more join. On the training pictures more than 30 % of the platelets depend on the first rule, and fewer than 4 % of the anchors are positive.
# - Entries that lead their row and column can be taken together: greedy assignment in a few rounds; suppression allows the same trick.
# - Padding must go before the assignment, suppression works within classes, and on pictures that are not square the ratio needs the factor $h/w$.
# - Suppression trades lost neighbours for duplicates; run on the true boxes it finds labels that occur twice.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.4-1
#
# By how much must a unit square be shifted so that its IoU with the unshifted one is $\frac12$, if the shift is horizontal, and if it is diagonal?
# Which of the two shifts is longer?
# Is it the longer one for every IoU?

# %% [markdown]
# #### Solution 14.4-1

# %% [markdown]
# After a shift by $(u,v)$ the intersection is $i=(1-u)(1-v)$ and the IoU $\frac i{2-i}$, which is $\frac12$ for $i=\frac23$.
# Horizontally $u=\frac13$; diagonally $u=v=1-\sqrt{2/3}\approx0.184$, a length of 0.260, which is shorter.
# In general the lengths are $1-i$ and $\sqrt2(1-\sqrt i)$.
# They are equal if $1+\sqrt i=\sqrt2$, that is $i=(\sqrt2-1)^2\approx0.172$ and an IoU of 0.094; for smaller IoUs the diagonal shift is the longer one, and it reaches 0 only at a length of $\sqrt2$.

# %%
diagonal = 1 - (2 / 3) ** 0.5
moves = torch.tensor([[1 / 3, 0], [diagonal, diagonal]])
torch.testing.assert_close(box_iou(unit, unit + moves.repeat(1, 2)),
                           torch.full((1, 2), 0.5))
lengths = moves.norm(dim=1)
print(lengths.tolist())
assert 0.25 < lengths[1] < 0.27 < lengths[0]
for length, closer in ((0.82, 0), (0.84, 1)):  # equal at 2 sqrt(2) - 2
    moves = length * torch.tensor([[1, 0], [0.5**0.5, 0.5**0.5]])
    assert box_iou(unit, unit + moves.repeat(1, 2)).argmax() == closer

# %% [markdown]
# ### Exercise 14.4-2
#
# Rule 1 is greedy; `scipy.optimize.linear_sum_assignment` finds the pairs with the largest *sum* of IoUs.
# Find two anchors and two truths for which the two differ.
# How small can greedy's sum become, relative to the best? Look for the smallest value on random matrices, prove a bound, and find boxes that come close to it.

# %% [markdown]
# #### Solution 14.4-2

# %% [markdown]
# The first anchor fits both truths, one of them slightly better, and greedy gives it that one; then only a bad pair is left.
# Greedy reaches at least half of the best sum: each pair that it takes spoils at most two pairs of the best solution, and neither is larger than itself.
# Four unit squares in a row, each shifted by about $\frac13$ against the one before, come close to one half: greedy takes the two in the middle and is left with the outer two, which do not overlap.
# (For weighted graphs of any kind Preis 1999 gives an algorithm with the same guarantee, in time proportional to the number of edges.)

# %%
def sums(matrix):
    """Sum of the greedy pairs and of the best ones."""
    n, m = matrix.shape
    which = greedy(matrix, threshold=2)[0]
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    return (matrix[which >= 0, which[which >= 0]].sum().item(),
            matrix[rows, columns].sum().item())


two_truths = torch.tensor([[0.1, 0, 1.1, 1], [0.4, 0, 1.4, 1]])
two_anchors = torch.tensor([[0.2, 0, 1.2, 1], [-0.3, 0, 0.7, 1]])
print(box_iou(two_anchors, two_truths), sums(box_iou(two_anchors,
                                                     two_truths)))
total = sums(box_iou(two_anchors, two_truths))
assert total[0] < total[1] - 0.05
rng = torch.Generator().manual_seed(0)
shares = [a / b for a, b in (sums(torch.rand(2, 2, generator=rng))
                             for _ in range(2000))]
print(f"smallest share in 2000 random cases: {min(shares):.3f}")
assert 0.5 <= min(shares) < 0.6 and max(shares) <= 1 + 1e-6
row = unit + torch.tensor([[0, 0.334, 0.667, 1.001]]).T * torch.tensor(
    [1, 0, 1, 0])
a, b = sums(box_iou(row[[0, 2]], row[[1, 3]]))  # anchors, truths
print(f"four squares in a row: {a / b:.3f}")
assert 0.5 <= a / b < 0.51

# %% [markdown]
# ### Exercise 14.4-3
#
# Soft-NMS (Bodla et al. 2017) does not delete an overlapping box but lowers its score, for example by the factor $e^{-\mathrm{IoU}^2/0.5}$.
# Write it, show that a factor of 0 above the threshold and 1 below gives NMS, and run it on the three dogs.

# %% [markdown]
# #### Solution 14.4-3

# %%
def soft_nms(boxes, scores, factor, floor=1e-3):
    """Positions by falling final score, and these scores."""
    iou, scores = box_iou(boxes, boxes), scores.clone()
    kept, final = [], []
    while scores.max() > floor:
        best = scores.argmax()
        kept.append(best.item())
        final.append(scores[best].item())
        scores = scores * factor(iou[best])
        scores[best] = 0
    return kept, final


for seed in range(3):
    rng = torch.Generator().manual_seed(seed)
    boxes = random_boxes(60, rng)
    scores = 0.1 + 0.9 * torch.rand(60, generator=rng)
    hard, _ = soft_nms(boxes, scores, lambda iou: (iou <= 0.4).float())
    assert hard == nms(boxes, scores, 0.4).tolist()
dogs = torch.tensor([0.9, 0.8, 0.7])
kept, final = soft_nms(four[:3], dogs, lambda iou: (-iou**2 / 0.5).exp())
print(kept, [round(score, 3) for score in final])
assert sorted(kept) == [0, 1, 2] and final[0] == dogs[0] and final[1] < 0.5

# %% [markdown]
# No box disappears; the third dog now comes before the second, because it overlaps the first one less.
# A threshold on the score has to do the rest.

# %% [markdown]
# ### Exercise 14.4-4
#
# Square anchors of side $s$ stand on a grid of distance $d$.
# How many of them reach an IoU of 0.5 with a square truth of the same side at a random place?
# Derive the mean, for a truth of another side as well, and check both.
# When is every truth of the anchors' own side certain of an anchor?

# %% [markdown]
# #### Solution 14.4-4

# %% [markdown]
# Let the truth have the side $qs$ with $q\ge1$, and let $(u,v)$ lead from its center to the anchor's, in units of $s$.
# Along one axis the two share $o(u)=\min\big(1,\frac{1+q}2-|u|\big)$, if that is positive, and the IoU reaches $\frac12$ if $o(u)\,o(v)\ge c=\frac{1+q^2}3$.
# With $p=\frac{q-1}2$, the plateau where $o=1$, the region of these $(u,v)$ has the area
#
# $$A(q)=4\Big(p^2+2p(1-c)+\int_0^{1-c}\Big(1-\frac c{1-x}\Big)dx\Big)=4\big(p^2+q(1-c)+c\log c\big),$$
#
# and there are $(s/d)^2$ anchors per unit of area: on average $A(q)\,(s/d)^2$.
# $A(1)=\frac43-\frac83\log\frac32\approx0.252$; $A(1.2)\approx0.264$ is a little more, because an anchor inside such a truth has an IoU of $\frac1{1.44}$ wherever it lies; $A(\sqrt2)\approx0.172$, and beyond $\sqrt2$ there are none, because the IoU is at most $1/q^2$.
# (For smaller truths exchange the roles: $q^2A(1/q)$.)
# So on a fine grid sizes a factor of 2 apart leave no gap among square truths, and larger factors do.
#
# With $q=1$ and $s$ below about $2d$ the mean is less than 1, so some truths get no anchor.
# All of them get one from $s=\frac{3+\sqrt6}2\,d\approx2.72\,d$ on: the worst truth is $\frac d2$ off in both directions, and $\big(1-\frac d{2s}\big)^2\ge\frac23$.

# %%
rng = torch.Generator().manual_seed(0)
corner = 0.45 + 5 / 48 * torch.rand(1500, 2, generator=rng)  # five cells


def law(q):
    """Mean number of anchors, times (d / s) ** 2."""
    c = (1 + q * q) / 3
    return 4 * ((q - 1)**2 / 4 + q * (1 - c) + c * math.log(c))


print("side / distance, ratio of sides:  mean number   law   without any")
for steps_per_side in (1.75, 3, 6):
    s = steps_per_side / 48
    few = multibox_prior(48, 48, [s], [1.0])
    for q in (1.0, 1.2, 1.4, 1.45):
        square = torch.cat([corner, corner + s * q], 1)
        number = (box_iou(few, square) >= 0.5).sum(0).float()
        mean, none = number.mean().item(), (number == 0).float().mean().item()
        expect = law(q) * steps_per_side**2 if q < 2**0.5 else 0
        print(f"{steps_per_side:15}{q:18}{mean:15.2f}{expect:7.2f}"
              f"{none:10.2f}")
        assert abs(mean - expect) <= 0.05 * expect
        assert (none == 0) == (q < 2**0.5 and steps_per_side >= 3)
for steps_per_side, certain in ((2.7, False), (2.75, True)):
    s = steps_per_side / 48
    few = multibox_prior(48, 48, [s], [1.0])
    worst = 0.5 + torch.tensor([[-s, -s, s, s]]) / 2  # between four centers
    assert (box_iou(few, worst).max() >= 0.5) == certain

# %% [markdown]
# ### Exercise 14.4-5
#
# "Fast NMS" (Bolya et al. 2019) is the first round of our `nms` alone: a box falls if *any* box of higher score overlaps it too much, kept or not.
# Can it keep a box that NMS deletes? Can it delete a box that NMS keeps?
# Find an example, and count on random boxes.

# %% [markdown]
# #### Solution 14.4-5

# %% [markdown]
# In the first round all boxes count as kept, so no box survives that NMS deletes; it may delete more, at the end of a chain: 0 deletes 1, and 1, although deleted, deletes 2.
# The three dogs at a threshold of 0.6 are such a chain.

# %%
def fast_nms(boxes, scores, threshold):
    """The first round of `nms`."""
    order = scores.argsort(descending=True, stable=True)
    beats = (box_iou(boxes[order], boxes[order]) > threshold).triu(1)
    return order[~beats.any(0)]


assert fast_nms(four[:3], dogs, 0.6).tolist() == [0]
assert nms(four[:3], dogs, 0.6).tolist() == [0, 2]
fewer = []
for seed in range(20):
    rng = torch.Generator().manual_seed(seed)
    boxes, scores = random_boxes(200, rng), torch.rand(200, generator=rng)
    fast, full = (f(boxes, scores, 0.3).tolist() for f in (fast_nms, nms))
    assert set(fast) <= set(full)
    fewer.append(len(fast) / len(full))
print(f"share of the kept boxes that fast NMS keeps: {min(fewer):.2f} to "
      f"{max(fewer):.2f}")
assert max(fewer) < 1

# %% [markdown]
# ## Sources
#
# - S. Ren, K. He, R. Girshick and J. Sun, *Faster R-CNN: towards real-time object detection with region proposal networks* (2015), [arXiv:1506.01497](https://arxiv.org/abs/1506.01497): anchors of several sizes and ratios, both rules of assignment, the offsets.
# - W. Liu et al., *SSD: single shot multibox detector* (2015), [arXiv:1512.02325](https://arxiv.org/abs/1512.02325): the same rules with a threshold of 0.5.
# - H. Rezatofighi et al., *Generalized intersection over union: a metric and a loss for bounding box regression* (2019), [arXiv:1902.09630](https://arxiv.org/abs/1902.09630).
# - Z. Zheng et al., *Enhancing geometric factors in model learning and inference for object detection and instance segmentation* (2020), [arXiv:2005.03572](https://arxiv.org/abs/2005.03572): suppression in rounds (Cluster-NMS).
# - D. Bolya, C. Zhou, F. Xiao and Y. J. Lee, *YOLACT: real-time instance segmentation* (2019), [arXiv:1904.02689](https://arxiv.org/abs/1904.02689): fast NMS.
# - N. Bodla, B. Singh, R. Chellappa and L. S. Davis, *Soft-NMS: improving object detection with one line of code* (2017), [arXiv:1704.04503](https://arxiv.org/abs/1704.04503).
# - R. Preis, *Linear time 1/2-approximation algorithm for maximum weighted matching in general graphs*, STACS 1999, [doi:10.1007/3-540-49116-3_24](https://doi.org/10.1007/3-540-49116-3_24): half of the best sum, in linear time.
# - Z. Tian, C. Shen, H. Chen and T. He, *FCOS: fully convolutional one-stage object detection* (2019), [arXiv:1904.01355](https://arxiv.org/abs/1904.01355).
# - S. Zhang et al., *Bridging the gap between anchor-based and anchor-free detection via adaptive training sample selection* (2019), [arXiv:1912.02424](https://arxiv.org/abs/1912.02424).
# - Z. Ge et al., *YOLOX: exceeding YOLO series in 2021* (2021), [arXiv:2107.08430](https://arxiv.org/abs/2107.08430): SimOTA.
# - N. Carion et al., *End-to-end object detection with transformers* (2020), [arXiv:2005.12872](https://arxiv.org/abs/2005.12872).
# - A. Wang et al., *YOLOv10: real-time end-to-end object detection* (2024), [arXiv:2405.14458](https://arxiv.org/abs/2405.14458): two heads, prediction without suppression.
# - Ultralytics, *Understanding end-to-end detection in Ultralytics YOLO26*, [docs.ultralytics.com](https://docs.ultralytics.com/guides/end2end-detection): its default.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola (2023). *Dive into Deep Learning*. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the order of topics and the worked examples; the formula, padding and suppression discussed above are those of its chapter on computer vision.
# - S. Cheng, *BCCD dataset*, [github.com/Shenggan/BCCD_Dataset](https://github.com/Shenggan/BCCD_Dataset): the pictures.
