# ---
# jupyter:
#   d2l:
#     data: [bccd, efficientnet-lite0]
#     profiles:
#       gpu:
#         dense_epochs: 20
#         epochs: 20
#         num_seeds: 5
#         num_drawn: 2000
#         num_gpus: 1
#       smoke:
#         num_pictures: 12
#         dense_epochs: 1
#         epochs: 1
#         num_seeds: 1
#         num_drawn: 40
#     rehearsal:
#       dense_epochs: 0.2
#       epochs: 0.2
#       num_seeds: 0.4
#       num_drawn: 0.2
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
# # 14.8 Region-based CNNs
#
# TODO

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision import ops

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.computer_vision import (
    CELLS, DenseHead, DetectionData, average_precision, box_corner_to_center,
    box_iou, cell_features, detection_loss, down_sample_blk, evaluating,
    generalized_box_iou, multibox_detection, multibox_prior,
    multibox_target, offset_boxes, offset_inverse, predict_boxes,
    show_boxes, train_ch14)
from d2l_helpers.pictures import BananaLike
from d2l_helpers.pretrained import efficientnet_lite0

d2l.use_style()

# %% tags=["parameters"]
num_pictures = None  # of each split; None: all
dense_epochs = 5  # of the dense head, which proposes
epochs = 5  # of the set head
num_seeds = 3
num_drawn = 300  # drawn pictures in the exercises
num_gpus = 0

# %% tags=["export"]
def locate_regions(X, rois):
    """Picture numbers (n,) and corners (n, 4) of regions (n, 5).

    X (b, c, h, w) are maps; the first number of a region is the number of
    its picture in the batch, 0 to b - 1, the others are x1, y1, x2, y2.
    Raises ValueError for other shapes, for a number that is no picture's,
    and for corners that are not finite or in the wrong order.
    """
    if X.dim() != 4 or rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f"maps {tuple(X.shape)}, regions "
                         f"{tuple(rois.shape)}: they must be (b, c, h, w) "
                         "and (n, 5).")
    number, corners = rois[:, 0], rois[:, 1:]
    good = (number >= 0) & (number < len(X)) & (number == number.floor())
    good &= corners.isfinite().all(1) & (
        corners[:, 2:] >= corners[:, :2]).all(1)
    if (~good).any():
        raise ValueError(
            f"region {rois[~good][0].tolist()}: its first number must be "
            f"that of a picture, 0 to {len(X) - 1}, and then x1 <= x2, "
            "y1 <= y2, all finite.")
    return number.long(), corners


def bin_members(first, last, bins, size):
    """Which cells belong to which bin: (n, bins, size), booleans.

    The cells first to last, inclusive (n,), are cut into `bins` parts as
    equal as possible; neighbours may share a cell. A map has `size`.
    """
    k = torch.arange(bins, device=first.device)
    cells = (last - first + 1).clamp(min=1)[:, None]  # (n, 1)
    low = first[:, None] + k * cells // bins
    high = first[:, None] - (-(k + 1) * cells // bins)  # rounded up
    cell = torch.arange(size, device=first.device)
    return (cell >= low[..., None]) & (cell < high[..., None])

# %% tags=["export"]
def roi_pool(X, rois, out, scale=1.0):
    """Largest values of maps X in a grid of bins over each region.

    X is (b, c, h, w); rois (n, 5) are as in `locate_regions`, in units of
    which one is `scale` cells; `out` is the number of bins down and across
    (a pair) or both. Corners are rounded to cells, and the last cell
    belongs to the region. Returns (n, c, *out), 0 for bins outside.
    Raises ValueError for regions that `locate_regions` refuses.
    Source: Girshick, Fast R-CNN, 2015.
    """
    number, corners = locate_regions(X, rois)
    down, across = (out, out) if isinstance(out, int) else out
    cells = corners * scale
    cells = (cells.sign() * (cells.abs() + 0.5).floor()).long()
    x1, y1, x2, y2 = cells.unbind(1)
    columns = bin_members(x1, x2, across, X.shape[3])  # (n, across, w)
    rows = bin_members(y1, y2, down, X.shape[2])  # (n, down, h)
    low = torch.full((), -torch.inf, dtype=X.dtype, device=X.device)
    top = torch.where(columns[:, None, None], X[number][:, :, :, None],
                      low).amax(-1)  # (n, c, h, across)
    top = torch.where(rows[:, None, :, :, None], top[:, :, None],
                      low).amax(3)  # (n, c, down, across)
    return torch.where(top == low, 0, top)

# %%
# check 14.8-C1: by hand, and against torchvision
X = torch.arange(16.0).view(1, 1, 4, 4)
rois = torch.tensor([[0.0, 0, 0, 20, 20], [0, 0, 10, 30, 30]])
assert roi_pool(X, rois, 2, 0.1).tolist() == [
    [[[5, 6], [9, 10]]], [[[9, 11], [13, 15]]]]


def random_regions(n, pictures, side, generator):
    """Regions (n, 5) that may leave a square of `side` by a tenth."""
    corners = torch.rand(n, 2, 2, generator=generator).sort(1).values
    return torch.cat([torch.randint(0, pictures, (n, 1),
                                    generator=generator),
                      (corners.flatten(1) * 1.2 - 0.1) * side], 1)


g = torch.Generator().manual_seed(0)
maps = torch.randn(3, 5, 12, 16, generator=g)
regions = random_regions(20, 3, 100, g)
for out in (1, 2, (3, 7)):
    assert torch.equal(roi_pool(maps, regions, out, 0.13),
                       ops.roi_pool(maps, regions, out, 0.13))

# %% tags=["export"]
def bilinear(X, x, y, picture=0):
    """Values of maps X (b, c, h, w) between their cells: (..., c).

    x, y, and the number of the picture, broadcast to (...), are in cells:
    the center of the first cell is (0, 0). A point up to a cell outside
    takes the value at the border, one further out is 0. The result has
    gradients for X, x and y. Raises ValueError if X has not four axes.
    """
    if X.dim() != 4:
        raise ValueError(f"maps {tuple(X.shape)} must be (b, c, h, w).")
    (h, w), picture = X.shape[2:], torch.as_tensor(picture, device=X.device)
    x, y, picture = torch.broadcast_tensors(x, y, picture)
    inside = (x >= -1) & (x <= w) & (y >= -1) & (y <= h)
    x, y = x.clamp(0, w - 1), y.clamp(0, h - 1)
    left, above = x.detach().floor().long(), y.detach().floor().long()
    right, below = (left + 1).clamp(max=w - 1), (above + 1).clamp(max=h - 1)
    fx, fy = (x - left)[..., None], (y - above)[..., None]
    top = torch.lerp(X[picture, :, above, left], X[picture, :, above, right],
                     fx)
    low = torch.lerp(X[picture, :, below, left], X[picture, :, below, right],
                     fx)
    return torch.lerp(top, low, fy) * inside[..., None]


def roi_align(X, rois, out, scale=1.0, sampling_ratio=2):
    """Means of maps X at points on a grid over each region: (n, c, *out).

    X, rois, out and scale are as in `roi_pool`; nothing is rounded. In
    each bin, `sampling_ratio` x `sampling_ratio` points are interpolated
    by `bilinear`; a cell covers its center's coordinate by half a cell on
    each side. Raises ValueError for regions that `locate_regions` refuses
    and for a sampling ratio below 1. Source: He et al., Mask R-CNN, 2017;
    torchvision calls the half cell `aligned=True`.
    """
    if sampling_ratio < 1:
        raise ValueError(f"sampling_ratio is {sampling_ratio}; at least 1.")
    number, corners = locate_regions(X, rois)
    down, across = (out, out) if isinstance(out, int) else out
    x1, y1, x2, y2 = (corners * scale - 0.5).unbind(1)

    def spread(first, last, count):  # midpoints of `count` equal parts
        at = (torch.arange(count, device=X.device) + 0.5) / count
        return first[:, None] + at * (last - first)[:, None]

    x = spread(x1, x2, across * sampling_ratio)
    y = spread(y1, y2, down * sampling_ratio)
    values = bilinear(X, x[:, None], y[:, :, None], number[:, None, None])
    return F.avg_pool2d(values.permute(0, 3, 1, 2), sampling_ratio)

# %%
# check 14.8-C2: by hand, and against torchvision
expected = [[[[0.625, 1.5], [4.125, 5.0]]],
            [[[4.3125, 5.75], [8.3125, 9.75]]]]
assert roi_align(X, rois, 2, 0.1).tolist() == expected
for ratio in (1, 2, 3):
    for out in (1, 2, (3, 7)):
        torch.testing.assert_close(
            roi_align(maps, regions, out, 0.13, ratio),
            ops.roi_align(maps, regions, out, 0.13, ratio, aligned=True),
            rtol=0, atol=1e-5)

# %%
# check 14.8-C4: gradients for the map and for the corners
wide = maps[:1, :2, :6, :6].double().requires_grad_()
moving = torch.tensor([[0.0, 3.1, 2.3, 33.7, 41.9]],
                      dtype=torch.double)
assert torch.autograd.gradcheck(lambda X, box: roi_align(
    X, F.pad(box, (1, 0)), 2, 0.1), (wide, moving[:, 1:].requires_grad_()))

# %% tags=["export"]
def hungarian_match(cost):
    """The row for each column that makes the total cost least: (m,).

    cost (K, m) is the cost of each pair; rows are used at most once. A
    column left over (K < m) gets -1. The result is on the CPU. Raises
    ValueError for another shape and for costs that are not finite.
    Source: H. W. Kuhn, 1955; SciPy's `linear_sum_assignment`.
    """
    if cost.dim() != 2 or not cost.isfinite().all():
        raise ValueError(f"cost {tuple(cost.shape)} must be a matrix of "
                         "finite numbers.")
    rows, columns = linear_sum_assignment(cost.detach().cpu())
    matched = torch.full((cost.shape[1],), -1)
    matched[torch.from_numpy(columns)] = torch.from_numpy(rows)
    return matched


def matching_cost(scores, boxes, labels):
    """Cost of each pair of a prediction and an object: (b, K, m).

    scores (b, K, q + 1), background first, and boxes (b, K, 4), relative
    corners, are predictions; labels (b, m, 5) class and corners. The cost
    is -p(class) + 5 |difference of centers and sides| - 2 GIoU. Source:
    Carion et al., 2020.
    """
    kind, truth = labels[..., 0].long().clamp(min=0), labels[..., 1:]
    p = scores.softmax(-1)[..., 1:].gather(
        2, kind[:, None].expand(-1, scores.shape[1], -1))  # (b, K, m)
    distance = torch.cdist(box_corner_to_center(boxes),
                           box_corner_to_center(truth), p=1)
    return 5 * distance - p - 2 * generalized_box_iou(boxes, truth)

# %% tags=["export"]
def hungarian_loss(preds, labels, background=0.1):
    """One prediction answers for each object; all others are background.

    preds are scores (b, K, q + 1), background first, and boxes (b, K, 4);
    labels (b, m, 5) class and corners, relative, rows of class -1 being
    padding. Each picture's pairs make the total `matching_cost` least.
    The loss is the mean cross-entropy, in which a background prediction
    counts `background`, plus 5 times the l1 distance of centers and sides
    and 2 (1 - GIoU), means over the pairs. Raises ValueError if classes or
    shapes do not fit. Source: Carion et al., 2020.
    """
    (scores, boxes), q = preds, preds[0].shape[-1] - 1
    if boxes.shape != (*scores.shape[:2], 4) or labels.shape[-1] != 5:
        raise ValueError(f"scores {tuple(scores.shape)}, boxes "
                         f"{tuple(boxes.shape)}, labels "
                         f"{tuple(labels.shape)} do not fit together.")
    real = (labels[..., 0] >= 0).cpu()  # (b, m)
    if labels[..., 0].max() >= q:
        raise ValueError(f"a label has the class {labels[..., 0].max():g}, "
                         f"and the scores have {q} classes.")
    with torch.no_grad():
        cost = matching_cost(scores, boxes, labels).cpu()
    pairs = [(i, row, column) for i, (table, own) in enumerate(zip(
        cost, real, strict=True)) for row, column in zip(
            hungarian_match(table[:, own]).tolist(),
            own.nonzero()[:, 0].tolist(), strict=True) if row >= 0]
    i, row, column = torch.tensor(pairs, dtype=torch.long).view(-1, 3).T.to(
        labels.device)
    classes = torch.zeros_like(scores[..., 0], dtype=torch.long)
    classes[i, row] = labels[i, column, 0].long() + 1
    weight = torch.ones(q + 1, device=scores.device)
    weight[0] = background
    of_classes = F.cross_entropy(scores.flatten(0, 1), classes.flatten(),
                                 weight)
    own, truth = boxes[i, row], labels[i, column, 1:]
    distance = box_corner_to_center(own) - box_corner_to_center(truth)
    giou = generalized_box_iou(own[:, None], truth[:, None])  # of the pairs
    return of_classes + (5 * distance.abs().sum() + 2 * (1 - giou).sum()
                         ) / max(len(pairs), 1)

# %% tags=["export"]
def sine_code(boxes, waves=8):
    """Sines and cosines of center, width and height: (..., 8 * waves).

    boxes (..., 4) are relative corners; the frequencies are 1/2, 1, 2, ...
    """
    powers = 2.0 ** torch.arange(waves, device=boxes.device)
    angle = math.pi * box_corner_to_center(boxes)[..., None] * powers
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(-2)


class SetLayer(nn.Module):
    """A Transformer layer whose attention scores get an addend.

    `forward(x, bias)`: x (b, K, width), bias broadcasts to (b, heads, K, K).
    """

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(),
                                 nn.Linear(2 * width, width))

    def forward(self, x, bias):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(
            2, 0, 3, 1, 4)  # (b, heads, K, width / heads) each
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = self.norm1(x + self.out(seen.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.ffn(x))

# %% tags=["export"]
class SetHead(nn.Module):
    """A second stage that answers once for each object.

    `propose(X)` takes the K anchors of maps X (b, c, h, w) to which the
    DenseHead `trunk` gives the largest object scores, and returns rows
    (b, K, width of the trunk + 4 + q + 1): features of the anchor's cell,
    box, scores, without gradients. `forward` takes maps or such rows and
    returns scores (b, K, q + 1) and boxes (b, K, 4): those of the trunk,
    changed by `layers` layers of attention, whose scores get `overlap`
    times the IoU of two boxes; with None, a candidate sees only itself.
    Raises ValueError if there are fewer than K anchors, or not as many as
    the trunk answers for. Sources: Carion et al., 2020; Zhu et al., 2020
    (candidates); Hu et al., 2017 (geometry in attention).
    """

    def __init__(self, trunk, anchors, K=160, layers=2, overlap=8.0,
                 width=32, heads=4):
        super().__init__()
        if not 1 <= K <= len(anchors):
            raise ValueError(f"K is {K}; 1 to {len(anchors)}, the anchors.")
        self.trunk, self.K, self.overlap = trunk, K, overlap
        self.register_buffer("anchors", anchors)
        self.parts = trunk.out.in_channels, 4, trunk.classes + 1
        self.embed = nn.Linear(self.parts[0] + 64 + self.parts[2], width)
        self.layers = nn.ModuleList(SetLayer(width, heads)
                                    for _ in range(layers))
        self.cls, self.box = (nn.Linear(width, n) for n in (
            self.parts[2], 4))
        for p in (*self.cls.parameters(), *self.box.parameters()):
            nn.init.zeros_(p)  # at first the answers are the trunk's

    def propose(self, X):
        with evaluating(self.trunk) as trunk:
            maps, (scores, offsets) = trunk.trunk(X), trunk(X)
        n, cells = len(self.anchors), maps[0, 0].numel()
        if scores.shape[1] != n:
            raise ValueError(f"{n} anchors, but {scores.shape[1]} answers.")
        boxes = offset_inverse(self.anchors, offsets.view(len(X), n, 4))
        best = scores.softmax(-1)[..., 1:].amax(-1).topk(self.K).indices
        features = maps.flatten(2).mT  # (b, cells, width of the trunk)
        return torch.cat([part.gather(1, index[..., None].expand(
            -1, -1, part.shape[2])) for part, index in (
                (features, best // (n // cells)), (boxes, best),
                (scores, best))], -1)

    def forward(self, X):
        rows = self.propose(X) if X.dim() == 4 else X
        features, boxes, scores = rows.split(self.parts, -1)
        x = self.embed(torch.cat([features, sine_code(boxes), scores], -1))
        if self.overlap is None:
            bias = torch.full((rows.shape[1],) * 2, -torch.inf,
                              device=x.device).fill_diagonal_(0)
        else:
            bias = self.overlap * box_iou(boxes, boxes)[:, None]
        for layer in self.layers:
            x = layer(x, bias)
        return scores + self.cls(x), offset_inverse(boxes, self.box(x))
