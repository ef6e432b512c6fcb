"""Chapter 14, Computer vision: what its sections teach and later ones use.

Generated from book/14-computer-vision/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import matplotlib.pyplot as plt
import torch
from contextlib import contextmanager
from pathlib import Path
from torch import nn
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
    A picture drawn by `imshow` needs extent=(0, width, height, 0): by
    default its axes count pixels' centers, half a pixel off the edges.
    """
    boxes = torch.as_tensor(boxes).reshape(-1, 4).tolist()
    if colors is None or isinstance(colors, str):
        colors = [colors or "C1"] * len(boxes)
    labels = [None] * len(boxes) if labels is None else labels
    bottom, top = ax.get_ylim()
    for (x1, y1, x2, y2), text, color in zip(boxes, labels, colors,
                                             strict=True):
        ax.add_patch(plt.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False,
                                   edgecolor=color, linewidth=1.5))
        if text:
            room = abs(y1 - top) > 0.07 * abs(bottom - top)
            ax.text(x1, y1, text, va="bottom" if room else "top",
                    ha="left", fontsize=7, color="white",
                    bbox={"facecolor": color, "pad": 1, "edgecolor": "none"})


# 14.3 Object detection and bounding boxes
def box_area(boxes):
    """Areas (...) of boxes (..., 4); 0 where a side is not positive."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def valid_boxes(boxes, min_side=0.0, inside=None):
    """Which of the boxes (..., 4) = (x1, y1, x2, y2) are boxes: (...) bool.

    The four numbers are finite, x1 < x2 and y1 < y2, no side is shorter
    than `min_side`; with `inside` = (x1, y1, x2, y2) the box does not leave
    that rectangle.
    """
    sides = boxes[..., 2:] - boxes[..., :2]
    good = boxes.isfinite().all(-1)
    good &= ((sides > 0) & (sides >= min_side)).all(-1)
    if inside is not None:
        low, high = boxes.new_tensor(inside).split(2)
        good &= (boxes[..., :2] >= low).all(-1)
        good &= (boxes[..., 2:] <= high).all(-1)
    return good


# 14.3 Object detection and bounding boxes
def flip_boxes(boxes, width=1.0):
    """Boxes (..., 4) = (x1, y1, x2, y2) of the picture mirrored sideways.

    `width` is the picture's in the unit of the boxes: 1 if relative.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([width - x2, y1, width - x1, y2], -1)


def resize_boxes(boxes, scale_x, scale_y):
    """Boxes (..., 4) of the picture stretched by two factors.

    The factors 1 / width and 1 / height make pixels relative.
    """
    return boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])


# 14.3 Object detection and bounding boxes
def crop_boxes(boxes, rect, min_visible=0.0):
    """Boxes (n, 4), floats, after the picture was cropped to `rect`.

    `rect` = (x1, y1, x2, y2) in the unit of the boxes. A box stays if the
    part inside has a positive area and at least the share `min_visible` of
    the box's own. Returns the boxes that stay (k, 4), clipped to `rect`
    and measured from its top left corner in the same unit, and which
    stay, (n,) bool. Raises ValueError if `rect` is empty.
    """
    left, top, right, bottom = rect
    if not (left < right and top < bottom):
        raise ValueError(f"rect is {rect}; it needs x1 < x2 and y1 < y2.")
    corner = boxes.new_tensor([left, top, left, top])
    inside = boxes.clamp(
        corner, boxes.new_tensor([right, bottom, right, bottom]))
    visible = box_area(inside) / box_area(boxes)  # nan for a bad box
    keep = (visible > 0) & (visible >= min_visible)
    return inside[keep] - corner, keep


# 14.3 Object detection and bounding boxes
def mask_boxes(masks):
    """The tight boxes (n, 4) of masks (n, height, width), in pixels.

    An empty mask gives a box that `valid_boxes` refuses.
    """
    edges = []
    for axis in (-2, -1):
        lines = masks.bool().any(axis)  # columns (n, w), then rows (n, h)
        places = torch.arange(lines.shape[-1], device=masks.device)
        edges.append(torch.where(lines, places, len(places)).amin(-1))
        edges.append(torch.where(lines, places, -1).amax(-1) + 1)
    x1, x2, y1, y2 = edges
    return torch.stack([x1, y1, x2, y2], -1).float()
