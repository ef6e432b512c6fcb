"""Chapter 14, Computer vision: what its sections teach and later ones use.

Generated from book/14-computer-vision/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import matplotlib.pyplot as plt
import torch
from contextlib import contextmanager
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.pictures import BananaLike
from d2l_helpers.pictures import read_images
from faster_coco_eval import COCO
from faster_coco_eval import COCOeval_faster
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


# 14.5 Multiscale object detection
def level_coverage(levels, boxes, chunk=500):
    """The best IoU of each box (n, 4) with the anchors of each level.

    `levels` is a list of tensors of anchors (k, 4). Returns (n, levels);
    its maximum along the levels is the best IoU over all of them. `chunk`
    boxes at a time limit the memory.
    """
    return torch.cat([torch.stack(
        [box_iou(part, anchors).amax(1) for anchors in levels], 1)
        for part in boxes.split(chunk)])


# 14.5 Multiscale object detection
def down_sample_blk(in_channels, out_channels):
    """Two 3x3 convolutions, then half the height and width."""
    layers = []
    for c in (in_channels, out_channels):
        layers += [nn.Conv2d(c, out_channels, 3, padding=1),
                   nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


# 14.5 Multiscale object detection
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


# 14.6 The object detection dataset
def pad_labels(labels, m=None):
    """Lists of objects (m_i, 5) as one tensor (n, m, 5); padding is -1.

    Without `m`, the longest list sets it.
    """
    longest = max((len(rows) for rows in labels), default=0)
    m = longest if m is None else m
    if longest > m:
        raise ValueError(f"a picture has {longest} objects; m is {m}.")
    padded = torch.full((len(labels), m, 5), -1.0)
    for row, objects in zip(padded, labels, strict=True):
        row[:len(objects)] = objects
    return padded


# 14.6 The object detection dataset
class DetectionData(DataModule):
    """Pictures with boxes: those of BCCD, or drawn ones.

    `parts` maps "train", "val" and, for BCCD, "test" to bytes
    (n, 3, h, w) and labels (n, m, 5): class, then x1, y1, x2, y2 relative
    to width and height, rows of -1 as padding. `names` maps them to the
    names of the pictures; `dropped` lists (name, box in pixels) left out,
    having a side below two pixels. `source` is "bccd" or "drawn", `size`
    is (h, w); for drawn pictures h must equal w.
    """

    def __init__(self, batch_size=8, size=(192, 256), source="bccd",
                 num_pictures=None, num_drawn=600):
        super().__init__()
        self.save_hyperparameters()
        self.parts, self.names, self.dropped = {}, {}, []
        if source == "bccd":
            self.classes, found = CELLS, d2l.fetch("bccd")
            self.is_real = found.is_real
            for split in ("train", "val", "test"):
                self._read(found.folder / "BCCD", split)
        elif source == "drawn":
            self.classes, self.is_real = ("banana",), False
            for seed, (split, n) in enumerate((
                    ("train", num_drawn), ("val", num_drawn // 6 + 1))):
                drawn = BananaLike(n, size[0], seed)
                self.parts[split] = (drawn.images, F.pad(
                    drawn.boxes, (1, 0))[:, None])  # (n, 1, 5), class 0
                self.names[split] = [str(i) for i in range(n)]
        else:
            raise ValueError(f'source is {source!r}; "bccd" or "drawn".')


# 14.6 The object detection dataset
@add_to_class(DetectionData)
def _read(self, folder, split):
    pictures = read_voc(folder, split)[:self.num_pictures]
    scale = torch.tensor([1, 640, 480, 640, 480])
    labels = []
    for path, rows in pictures:
        sides = (rows[:, 3:] - rows[:, 1:3]).amin(1)
        self.dropped += [(path.stem, row.tolist())
                         for row in rows[sides < 2]]
        labels.append(rows[sides >= 2] / scale)
    paths = [path for path, _ in pictures]
    self.parts[split] = (read_images(paths, self.size),
                         pad_labels(labels))
    self.names[split] = [path.stem for path in paths]


@add_to_class(DetectionData)
def get_dataloader(self, train):
    """Batches: floats (b, 3, h, w) in [0, 1], labels (b, m, 5)."""
    def serve(X, labels):
        most = int((labels[..., 0] >= 0).sum(1).max())
        return X / 255, labels[:, :most]

    return d2l.BatchLoader(
        self.parts["train" if train else "val"], self.batch_size,
        shuffle=train, generator=getattr(self, "generator", None),
        transform=serve)


# 14.6 The object detection dataset
def dataset_report(labels, classes):
    """What boxes (n, m, 5) look like: a dict for each class.

    "count", "pictures" (how many have one), medians of "width" and
    "height" relative to the picture, and "border", the share of boxes that
    touch an edge of the picture.
    """
    report = {}
    for number, kind in enumerate(classes):
        chosen = labels[..., 0] == number
        boxes = labels[chosen][:, 1:]
        touching = (boxes[:, :2] <= 0).any(1) | (boxes[:, 2:] >= 1).any(1)
        size = (boxes[:, 2:] - boxes[:, :2]).median(0).values if len(
            boxes) else torch.full((2,), torch.nan)
        report[kind] = {
            "count": len(boxes), "pictures": int(chosen.any(1).sum()),
            "width": size[0].item(), "height": size[1].item(),
            "border": touching.float().mean().item()}
    return report


# 14.6 The object detection dataset
def size_outliers(labels, classes, factor=2.5):
    """Boxes (n, m, 5) much larger or smaller than their class's median.

    Size is the square root of the area; "much" is a ratio above `factor`.
    Returns a list of (number of the picture, row of the label).
    """
    size = ((labels[..., 3] - labels[..., 1])
            * (labels[..., 4] - labels[..., 2])).sqrt()
    far = torch.zeros(size.shape, dtype=torch.bool)
    for number in range(len(classes)):
        own = labels[..., 0] == number
        if own.any():
            ratio = size / size[own].median()
            far |= own & ((ratio > factor) | (ratio < 1 / factor))
    return [(i, labels[i, j]) for i, j in far.nonzero().tolist()]


# 14.6 The object detection dataset
def augment_detection(X, labels, generator=None):
    """Flip each picture left-right and up-down, with its boxes.

    X is (b, 3, h, w), labels (b, m, 5) relative; each flip has probability
    1/2, drawn from `generator`. Padding stays -1. Returns new tensors.
    """
    flips = torch.rand(2, len(X), generator=generator) < 0.5
    corners = labels[..., 1:]
    for flip, axis in zip(flips.to(X.device), (-1, -2), strict=True):
        X = torch.where(flip[:, None, None, None], X.flip(axis), X)
        first, last = (0, 2) if axis == -1 else (1, 3)
        turned = corners.clone()
        turned[..., first] = 1 - corners[..., last]
        turned[..., last] = 1 - corners[..., first]
        corners = torch.where(flip[:, None, None], turned, corners)
    real = labels[..., :1] >= 0
    return X, torch.cat([labels[..., :1],
                         torch.where(real, corners, -1.0)], -1)


# 14.6 The object detection dataset
def to_coco(labels, classes, size):
    """Labels (n, m, 5), relative, as a COCO dictionary.

    Picture i has the id i, class k the id k + 1; boxes are (left, top,
    width, height) in the pixels of pictures of `size` (h, w).
    """
    h, w = size
    annotations = []
    for i, rows in enumerate(labels):
        for kind, *corners in rows[rows[:, 0] >= 0].tolist():
            x1, y1, x2, y2 = (v * side for v, side in zip(
                corners, (w, h, w, h), strict=True))
            annotations.append({
                "id": len(annotations) + 1, "image_id": i,
                "category_id": int(kind) + 1, "iscrowd": 0,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1)})
    return {"images": [{"id": i, "width": w, "height": h}
                       for i in range(len(labels))],
            "categories": [{"id": k + 1, "name": name}
                           for k, name in enumerate(classes)],
            "annotations": annotations}


def coco_ap(truth, detections):
    """faster-coco-eval's average precision, a dict: "AP_all", "AP_50"...

    `truth` as from `to_coco`; `detections` a list of dicts with
    "image_id", "category_id", "bbox" and "score".
    """
    truth = COCO(truth)
    run = COCOeval_faster(truth, truth.loadRes(detections), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return run.stats_as_dict
