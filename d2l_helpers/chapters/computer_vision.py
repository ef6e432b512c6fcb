"""Chapter 14, Computer vision: what its sections teach and later ones use.

Generated from book/14-computer-vision/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import matplotlib.pyplot as plt
import torch
from contextlib import contextmanager
from pathlib import Path
from torch import nn
from torch.nn import functional as F
from xml.etree import ElementTree


# 14.1 Image augmentation
def accuracy(y_hat, y):
    """Whether the largest score is the label's; scores (n, k, ...)."""
    return (y_hat.argmax(1) == y).float()


@contextmanager
def evaluating(net):
    """Evaluation mode without gradients; each module's mode comes back."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield net
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(net, tensors, score=accuracy, batch_size=250):
    """Mean over all examples of `score(net(X), *y)`, in evaluation mode.

    `tensors` are inputs and targets (X, y, ...) on the device of `net`;
    `score` gives a number for each example (or pixel), not their mean.
    """
    with evaluating(net):
        scores = [score(net(X), *y) for X, *y in
                  d2l.BatchLoader(tensors, batch_size)]
    return torch.cat(scores).mean().item()


# 14.1 Image augmentation
def train_ch14(net, train, test, loss, optimizer, epochs, device=None,
               batch_size=100, augment=None, score=accuracy,
               set_mode=nn.Module.train, after_step=None, seed=0):
    """Train under a one-cycle schedule: the loop of Chapter 14.

    `train` and `test` (or None) are tuples of tensors: inputs, targets.
    `loss(net(X), *y)` is a mean. The rates of the optimizer's groups are
    the peaks of the cycle, which has one step for each batch.
    `augment(X, *y, generator=g)` changes training batches only;
    `set_mode(net)` runs before each epoch, `after_step(net)` after each
    update. Returns a dict of lists, one number for each epoch: "loss" and,
    with a `score`, "train" (on the batches as they were trained on) and
    "test".
    """
    device = device or d2l.try_device()
    net.to(device)
    train = [tensor.to(device) for tensor in train]
    generator = torch.Generator().manual_seed(seed)
    loader = d2l.BatchLoader(train, batch_size, shuffle=True,
                             generator=generator)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups],
        total_steps=epochs * len(loader))
    history = {"loss": [], "train": [], "test": []}
    for _ in range(epochs):
        set_mode(net)
        losses, scores = [], []
        for X, *y in loader:
            if augment is not None:
                X, *y = augment(X, *y, generator=generator)
            y_hat = net(X)
            value = loss(y_hat, *y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            losses.append(value.detach() * len(X))
            if score is not None:
                scores.append(score(y_hat.detach(), *y))
            if after_step is not None:
                after_step(net)
        history["loss"].append(
            (torch.stack(losses).sum() / len(train[0])).item())
        if score is not None:
            history["train"].append(torch.cat(scores).mean().item())
            if test is not None:
                history["test"].append(evaluate(
                    net, [tensor.to(device) for tensor in test], score))
    return history


# 14.3 Object detection and bounding boxes
CELLS = ("RBC", "WBC", "Platelets")  # red cells, white cells, platelets


def read_voc(folder, split, classes=CELLS):
    """The pictures of a split in Pascal VOC's form, with their boxes.

    `folder` holds Annotations, ImageSets and JPEGImages. Returns a list of
    (path of the picture, labels); labels are floats (m, 5): the class's
    position in `classes`, then x1, y1, x2, y2 in pixels, half-open. VOC
    counts pixels from 1 and includes the last one, so the file's xmin and
    ymin lose 1. Unknown classes raise ValueError.
    """
    folder, found = Path(folder), []
    names = (folder / "ImageSets/Main" / f"{split}.txt").read_text().split()
    for name in names:
        rows = []
        tree = ElementTree.parse(folder / "Annotations" / f"{name}.xml")
        for item in tree.iter("object"):
            kind = item.findtext("name")
            if kind not in classes:
                raise ValueError(f"{name}.xml has the class {kind!r}; "
                                 f"the classes are {classes}.")
            corners = [float(item.find("bndbox").findtext(key))
                       for key in ("xmin", "ymin", "xmax", "ymax")]
            rows.append([classes.index(kind), corners[0] - 1, corners[1] - 1,
                         *corners[2:]])
        found.append((folder / "JPEGImages" / f"{name}.jpg",
                      torch.tensor(rows).reshape(-1, 5)))
    return found


# 14.3 Object detection and bounding boxes
def box_corner_to_center(boxes):
    """(x1, y1, x2, y2) to (center x, center y, width, height); (..., 4)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(
        [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], -1)


def box_center_to_corner(boxes):
    """(center x, center y, width, height) to (x1, y1, x2, y2); (..., 4)."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack(
        [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)


# 14.3 Object detection and bounding boxes
def show_boxes(ax, boxes, labels=None, colors=None):
    """Draw boxes (n, 4) = (x1, y1, x2, y2), in the units of the axes.

    `labels` are texts, one for each box; `colors` one for all or one each.
    """
    boxes = torch.as_tensor(boxes).reshape(-1, 4).tolist()
    if colors is None or isinstance(colors, str):
        colors = [colors or "C1"] * len(boxes)
    labels = [None] * len(boxes) if labels is None else labels
    for (x1, y1, x2, y2), text, color in zip(boxes, labels, colors,
                                             strict=True):
        ax.add_patch(plt.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False,
                                   edgecolor=color, linewidth=1.5))
        if text:
            ax.text(x1, y1, text, va="bottom", ha="left", fontsize=7,
                    color="white", bbox={"facecolor": color, "pad": 1,
                                         "edgecolor": "none"})


# 14.4 Anchor boxes
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


# 14.4 Anchor boxes
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


# 14.4 Anchor boxes
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


# 14.4 Anchor boxes
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


# 14.4 Anchor boxes
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


# 14.4 Anchor boxes
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


# 14.4 Anchor boxes
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


# 14.4 Anchor boxes
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
