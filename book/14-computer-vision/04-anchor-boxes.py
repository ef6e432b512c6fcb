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
# # 14.4 Anchor boxes
#
# TODO: the question, in two or three sentences.
#
# **You will**
#
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
#
# **Cost**: TODO: time and memory on a CPU, downloads, use of a GPU.

# %%
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.computer_vision import (
    box_center_to_corner, box_corner_to_center)

d2l.use_style()

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
    if m == 0:
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


# %% tags=["export"]
@torch.no_grad()
def multibox_target(anchors, labels, threshold=0.5):
    """What a detector should answer at each anchor.

    anchors (n, 4); labels (b, m, 5): class, x1, y1, x2, y2, where rows of
    a negative class are padding. Returns offsets (b, n, 4), which are 0 at
    the background; mask (b, n), True at anchors with a truth; classes
    (b, n), 0 at the background and the truth's class plus 1 elsewhere.
    """
    kind, truth = labels[..., 0].long(), labels[..., 1:]
    real = (kind >= 0) & (truth[..., 2:] > truth[..., :2]).all(-1)
    assigned = assign_anchors(truth, anchors, threshold, real)  # (b, n)
    mask, row = assigned >= 0, assigned.clamp(min=0)
    if truth.shape[1] == 0:  # no truth in any picture
        return (anchors.expand(len(labels), -1, 4) * 0, mask, row)
    boxes = truth.gather(1, row[..., None].expand(-1, -1, 4))
    boxes = torch.where(mask[..., None], boxes, anchors)
    return (offset_boxes(anchors, boxes), mask,
            torch.where(mask, kind.gather(1, row) + 1, 0))


# %% tags=["export"]
def nms(boxes, scores, threshold, classes=None):
    """Non-maximum suppression: kept positions (k,), by falling score.

    A box falls if its IoU with a kept box of higher score exceeds
    `threshold`; with `classes` (n,), only boxes of one class compete.
    Equal scores stand in the order of the boxes. Each round settles at
    least one more box; the greedy order is found when nothing changes.
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


# %% tags=["export"]
@torch.no_grad()
def multibox_detection(cls_probs, offsets, anchors, nms_threshold=0.5,
                       score_threshold=0.01, candidates=1000):
    """Boxes with class and score from a detector's answers: (b, n, 6).

    cls_probs (b, q + 1, n), background first; offsets (b, n, 4), or
    (b, 4 n). Rows are class, score, x1, y1, x2, y2, by falling score;
    each anchor speaks for its likeliest object class, if that has at least
    `score_threshold`; of those, the `candidates` of highest score enter
    suppression, per class. Unused rows are -1.
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

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %%
# check 14.4-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C7: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C8: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C9: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.4-C10: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.4-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.4-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.4-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.4-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.4-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.4-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.4-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.4-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.4-5
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.4-5

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
