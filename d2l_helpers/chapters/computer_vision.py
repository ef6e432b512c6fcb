"""Chapter 14, Computer vision: what its sections teach and later ones use.

Generated from book/14-computer-vision/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import copy
import csv
import d2l_helpers as d2l
import math
import matplotlib.pyplot as plt
import numpy as np
import random
import torch
from contextlib import contextmanager
from d2l_helpers.chapters.linear_classification import fit_logits
from d2l_helpers.chapters.linear_classification import scale_bytes
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.pictures import BananaLike
from d2l_helpers.pictures import ShapeScenes
from d2l_helpers.pictures import read_images
from faster_coco_eval import COCO
from faster_coco_eval import COCOeval_faster
from functools import cached_property
from functools import partial
from pathlib import Path
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from xml.etree import ElementTree


# 14.1 Image augmentation
def hflip(img, p=1.0, generator=None):
    """Mirror left and right, with probability `p`; img (..., h, w)."""
    mirrored = torch.rand((), generator=generator) < p
    return img.flip(-1) if mirrored else img


# 14.1 Image augmentation
def crop_box(h, w, scale, ratio, generator=None):
    """A random box (top, left, height, width) in a picture h x w.

    Its area is a share of the picture between the two of `scale`, its
    width divided by its height lies between the two of `ratio`, both
    after rounding to whole pixels. If ten draws give no such box inside
    the picture: the largest box in the middle with a permitted ratio.
    """
    low, high = np.log(ratio)
    for _ in range(10):
        a, r, y, x = torch.rand(4, generator=generator).tolist()
        area = h * w * (scale[0] + (scale[1] - scale[0]) * a)
        aspect = np.exp(low + (high - low) * r)
        height = round((area / aspect) ** 0.5)
        width = round((area * aspect) ** 0.5)
        if (0 < height <= h and 0 < width <= w
                and scale[0] <= height * width / (h * w) <= scale[1]
                and ratio[0] <= width / height <= ratio[1]):
            return (int(y * (h - height + 1)), int(x * (w - width + 1)),
                    height, width)
    height = max(1, min(h, int(w / ratio[0])))
    width = max(1, min(w, int(h * ratio[1])))
    return (h - height) // 2, (w - width) // 2, height, width


def random_resized_crop(img, size, scale=(0.1, 1.0), ratio=(0.5, 2.0),
                        generator=None):
    """A random part of img (..., c, h, w), resized to `size` squared.

    For `scale` and `ratio` see `crop_box`. Pixels are floats.
    """
    top, left, height, width = crop_box(*img.shape[-2:], scale, ratio,
                                        generator)
    part = img[..., top:top + height, left:left + width]
    batch = part.reshape(-1, *part.shape[-3:])
    out = F.interpolate(batch, (size, size), mode="bilinear",
                        antialias=True)
    return out.reshape(*img.shape[:-2], size, size)


# 14.1 Image augmentation
class Compose:
    """Steps one after the other, each called step(X, generator=...).

    Composed steps are an `augment` of train_ch14: called with targets
    beside X, they return the targets as they came.
    """

    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, X, *y, generator=None):
        for step in self.steps:
            X = step(X, generator=generator)
        return (X, *y) if y else X


def per_image(step):
    """A step that draws anew for every picture of a batch (n, c, h, w)."""
    def draw(X, generator=None):
        return torch.stack([step(x, generator=generator) for x in X])
    return draw


# 14.1 Image augmentation
def show_augmented(img, aug, rows=2, cols=4, seed=0, scale=1.3):
    """Draw rows x cols results of aug(img, generator=...); returns axes."""
    generator = torch.Generator().manual_seed(seed)
    pictures = [aug(img, generator=generator) for _ in range(rows * cols)]
    return d2l.show_images(pictures, rows, cols, scale=scale)


# 14.1 Image augmentation
def shift_hue(img, turn):
    """Move the hue of floats (..., 3, h, w) by a share of a full turn."""
    red, green, blue = img.unbind(-3)
    top = img.amax(-3)
    chroma = top - img.amin(-3)
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        top == red, (green - blue) / safe, torch.where(
            top == green, (blue - red) / safe + 2,
            (red - green) / safe + 4))  # (..., h, w), in sixths of a turn
    start = torch.tensor([5.0, 3.0, 1.0], device=img.device).view(3, 1, 1)
    place = (hue.unsqueeze(-3) + 6 * turn + start) % 6  # (..., 3, h, w)
    fall = torch.minimum(place, 4 - place).clamp(0, 1)
    return top.unsqueeze(-3) - chroma.unsqueeze(-3) * fall


# 14.1 Image augmentation
def adjust_color(img, brightness=1.0, contrast=1.0, saturation=1.0,
                 turn=0.0):
    """Colours of floats (..., 3, h, w) in [0, 1], changed in this order.

    Three factors, of which 1 changes nothing, and a shift of the hue.
    """
    def gray(X):
        weights = X.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        return (weights * X).sum(-3, keepdim=True)

    img = (brightness * img).clamp(0, 1)
    mean = gray(img).mean((-2, -1), keepdim=True)
    img = torch.lerp(mean.expand_as(img), img, contrast).clamp(0, 1)
    img = torch.lerp(gray(img).expand_as(img), img, saturation).clamp(0, 1)
    return shift_hue(img, turn) if turn else img


def color_jitter(img, b=0.0, c=0.0, s=0.0, h=0.0, generator=None):
    """Random brightness, contrast, saturation and hue, in this order.

    The factors are uniform in [1 - b, 1 + b], [1 - c, 1 + c] and
    [1 - s, 1 + s], the shift of the hue in [-h, h] turns. Pixels are
    floats (..., 3, h, w) in [0, 1].
    """
    u = 2 * torch.rand(4, generator=generator) - 1
    factors = 1 + u[:3] * torch.tensor([b, c, s])
    return adjust_color(img, *factors.tolist(), (h * u[3]).item())


# 14.1 Image augmentation
def accuracy(y_hat, y):
    """Whether the largest of the scores (n, k, ...) is the label's.

    `y` holds classes (n, ...) or, as floats, shares of the classes
    (n, k, ...): then the share of the class with the largest score.
    """
    guess = y_hat.argmax(1)
    if y.is_floating_point():
        return y.gather(1, guess.unsqueeze(1)).squeeze(1)
    return (guess == y).float()


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
def step_rates(optimizer, steps, schedule=None):
    """A scheduler of rates: one cycle whose peaks are the groups' rates.

    `schedule(step)`, if given, is the factor of the rates instead.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # not that of an earlier training
    if schedule is not None:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], steps,
        cycle_momentum=False)


def train_epoch(net, loader, loss, optimizer, schedule, score, after_step):
    """One pass over the batches; returns the mean loss and mean score."""
    losses, scores = [], []
    for X, *y in loader:
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
    mean = torch.stack(losses).sum().item() / loader.num_examples
    return mean, torch.cat(scores).mean().item() if scores else None


# 14.1 Image augmentation
def train_ch14(net, train, test, loss, optimizer, epochs, device=None,
               batch_size=100, augment=None, score=accuracy,
               set_mode=nn.Module.train, after_step=None, seed=0,
               schedule=None):
    """Train under a one-cycle schedule; returns {"loss", "train", "test"}.

    `train` and `test` (or None) are tuples of tensors: inputs, targets.
    `loss(net(X), *y)` is a mean. The rates of the optimizer's groups are
    the peaks of the cycle, with a step for each batch; afterwards they are
    back. `schedule(step)`, if given, is their factor instead of the cycle.
    `augment(X, *y, generator=g)` changes training batches only;
    `set_mode(net)` runs before each epoch, `after_step(net)` after each
    update; `seed` fixes order, changes and PyTorch's global generator. The
    lists have one mean for each epoch; "train" is measured on the batches
    as they were trained on; without a `score` two of them stay empty.
    """
    device = device or d2l.try_device()
    net.to(device)
    test = [tensor.to(device) for tensor in test or ()]
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    noise = torch.Generator().manual_seed(seed + 1_000_000)
    loader = d2l.BatchLoader(
        [tensor.to(device) for tensor in train], batch_size, True, order,
        transform=augment and partial(augment, generator=noise))
    peaks = [group["lr"] for group in optimizer.param_groups]
    rates = step_rates(optimizer, epochs * len(loader), schedule)
    history = {"loss": [], "train": [], "test": []}
    for _ in range(epochs):
        set_mode(net)
        means = train_epoch(net, loader, loss, optimizer, rates, score,
                            after_step)
        history["loss"].append(means[0])
        if score is not None:
            history["train"].append(means[1])
            if test:
                history["test"].append(evaluate(net, test, score))
    for group, peak in zip(optimizer.param_groups, peaks):
        group["lr"] = peak
    return history


# 14.1 Image augmentation
def mixup(X, Y, alpha=0.2, generator=None, lam=None):
    """Blend each example with another of the batch; returns X and Y.

    X (n, ...) inputs, Y (n, k) shares of the classes as floats. The
    weight of the first partner is `lam`, or one number for the batch
    from the distribution Beta(alpha, alpha).
    """
    if not Y.is_floating_point():
        raise TypeError(f"labels of type {Y.dtype} cannot be blended; "
                        "pass F.one_hot(y, k).float().")
    if lam is None:
        seed = torch.randint(2**31, (), generator=generator).item()
        lam = np.random.default_rng(seed).beta(alpha, alpha)
    other = torch.randperm(len(X), generator=generator).to(X.device)
    return (lam * X + (1 - lam) * X[other],
            lam * Y + (1 - lam) * Y[other])


# 14.2 Fine-tuning
def last_linear(net):
    """Name of the last linear layer of `net`: its head, as a rule."""
    names = [name for name, module in net.named_modules()
             if isinstance(module, nn.Linear)]
    if not names:
        raise ValueError(f"{type(net).__name__} has no linear layer to be "
                         "its head.")
    return names[-1]


def replace_head(net, num_classes):
    """Put a new linear layer of `num_classes` scores in place of the last.

    It starts at PyTorch's default, on the device and with the type of the
    old one. Changes `net` and returns it.
    """
    name = last_linear(net)
    old = net.get_submodule(name)
    net.set_submodule(name, nn.Linear(
        old.in_features, num_classes, bias=old.bias is not None,
        device=old.weight.device, dtype=old.weight.dtype))
    return net


# 14.2 Fine-tuning
def linear_probe(features, labels, num_classes=None, ridge=1e-3):
    """A linear layer fitted on features (n, d) with labels (n,).

    The fit is a softmax regression on features that are standardized and
    divided by the square root of d, with the penalty `ridge` times the
    sum of squared weights. The returned layer takes them as they are.
    """
    num_classes = num_classes or int(labels.max()) + 1
    mean = features.mean(0)
    scale = (features.std(0) + 1e-6) * features.shape[1] ** 0.5
    W, b = fit_logits((features - mean) / scale, labels, num_classes,
                      ridge=ridge, steps=30)  # (d, q), (q,)
    layer = nn.Linear(*W.shape, device=W.device, dtype=W.dtype)
    with torch.no_grad():
        layer.weight.copy_((W / scale[:, None]).mT)
        layer.bias.copy_(b - (mean / scale) @ W)
    return layer


# 14.2 Fine-tuning
def param_groups(net, base_lr, head_mult=10):
    """Groups for an optimizer: body at `base_lr`, head at a multiple.

    Each parameter that is trainable stands in exactly one group; a group
    without any is left out. The head is the last linear layer.
    """
    head = {id(p) for p in net.get_submodule(last_linear(net)).parameters()}
    free = [p for p in net.parameters() if p.requires_grad]
    groups = [{"params": [p for p in free if id(p) not in head],
               "lr": base_lr},
              {"params": [p for p in free if id(p) in head],
               "lr": base_lr * head_mult}]
    return [group for group in groups if group["params"]]


def set_trainable(net, predicate):
    """Each parameter learns if `predicate(name)`, else not; returns `net`."""
    for name, p in net.named_parameters():
        p.requires_grad_(bool(predicate(name)))
    return net


# 14.2 Fine-tuning
def freeze_bn(net):
    """Put the batch normalizations of `net` into evaluation mode.

    They then use their running statistics and leave them alone, until the
    next `net.train()`. Their factors and shifts stay as trainable as they
    were. Returns `net`.
    """
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return net


def train_frozen_bn(net):
    """Training mode for all but batch normalization: a `set_mode`."""
    return freeze_bn(net.train())


# 14.2 Fine-tuning
class LoRALinear(nn.Module):
    """A frozen linear layer plus alpha / r times B A, of rank r.

    `linear` is an `nn.Linear` or a 1x1 `nn.Conv2d` without stride, groups
    and padding, which is a linear layer at each pixel. B starts at zero, A
    at random with variance 1 / inputs. `alpha` is r if not given.
    """

    def __init__(self, linear, r=4, alpha=None):
        super().__init__()
        if not isinstance(linear, nn.Linear) and not (
                isinstance(linear, nn.Conv2d) and linear.groups == 1
                and linear.kernel_size == linear.stride == (1, 1)
                and linear.padding in ((0, 0), "same", "valid")):
            raise ValueError(f"{linear} is no linear layer at each pixel.")
        weight = linear.weight
        outputs, inputs = weight.shape[:2]
        self.linear = linear.requires_grad_(False)
        self.A = nn.Parameter(weight.new_empty(r, inputs).normal_(
            std=inputs ** -0.5))
        self.B = nn.Parameter(weight.new_zeros(outputs, r))
        self.scale = 1.0 if alpha is None else alpha / r

    def forward(self, X):
        if self.linear.weight.ndim == 2:
            return self.linear(X) + self.scale * (X @ self.A.mT) @ self.B.mT
        A, B = self.A[..., None, None], self.B[..., None, None]
        return self.linear(X) + self.scale * F.conv2d(F.conv2d(X, A), B)

    def merged(self):
        """A layer of the kind of `linear` with the weight W + scale B A."""
        layer = copy.deepcopy(self.linear)
        with torch.no_grad():
            layer.weight += (self.scale * self.B @ self.A).view_as(
                layer.weight)
        return layer


# 14.2 Fine-tuning
def add_lora(net, predicate, r=4, alpha=None):
    """`LoRALinear` around each layer for which `predicate(name, layer)`.

    Freezes these layers and nothing else. Changes `net` and returns it.
    """
    chosen = [(name, layer) for name, layer in net.named_modules()
              if predicate(name, layer)]
    for name, layer in chosen:
        net.set_submodule(name, LoRALinear(layer, r, alpha))
    return net


def merge_lora(net):
    """Put the merged layer in place of each `LoRALinear`; returns `net`."""
    chosen = [(name, layer) for name, layer in net.named_modules()
              if isinstance(layer, LoRALinear)]
    for name, layer in chosen:
        net.set_submodule(name, layer.merged())
    return net


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
    """Boxes (..., 4), floats, of the picture stretched by two factors.

    The factors 1 / width and 1 / height make pixels relative.
    """
    return boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])


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


# 14.7 Single shot multibox detection
def focal_loss(log_p, gamma=2.0, alpha=1.0):
    """-alpha (1 - p)^gamma log p, from log p of the true class."""
    return -alpha * (1 - log_p.exp()) ** gamma * log_p


def detection_loss(preds, offsets, mask, classes, kind="mining"):
    """Loss of a detector: classes of anchors and offsets of positives.

    `preds` are scores (b, n, q + 1) and offsets (b, 4 n); the targets,
    (b, n, 4), (b, n), (b, n), come from `multibox_target`. Both sums are
    divided by the number of positives (at least 1). `kind` is "plain",
    "mining" (three background anchors for each positive, in each picture),
    "focal", or "uneven": plain, but classes averaged over all anchors.
    """
    scores, boxes = preds
    losses = F.cross_entropy(scores.mT, classes, reduction="none")  # (b, n)
    count = mask.sum().clamp(min=1)
    if kind == "focal":
        losses = focal_loss(-losses)
    elif kind == "mining":
        hardest = losses.detach().masked_fill(mask, -1).argsort(
            1, descending=True)  # background first
        rank = torch.arange(mask.shape[1], device=mask.device)
        few = rank < 3 * mask.sum(1, keepdim=True)
        losses = losses * (mask | torch.zeros_like(mask).scatter(
            1, hardest, few))
    elif kind not in ("plain", "uneven"):
        raise ValueError(f"kind is {kind!r}; it must be plain, mining, "
                         "focal or uneven.")
    of_classes = losses.mean() if kind == "uneven" else losses.sum() / count
    distance = F.smooth_l1_loss(boxes.view_as(offsets)[mask], offsets[mask],
                                reduction="sum")
    return of_classes + distance / count


# 14.7 Single shot multibox detection
def predict_boxes(net, X, anchors, batch_size=16, **options):
    """Detections for pictures or features X: a list of (k, 6) on the CPU.

    Rows are class, score, x1, y1, x2, y2, by falling score, after
    suppression per class; `options` go to `multibox_detection`. The
    network predicts in evaluation mode and comes back in its own.
    """
    device, found = next(net.parameters()).device, []
    with evaluating(net):
        for part in X.split(batch_size):
            scores, offsets = net(part.to(device))
            rows = multibox_detection(scores.softmax(-1).mT, offsets,
                                      anchors.to(device), **options)
            found += [row[row[:, 0] >= 0] for row in rows.cpu()]
    return found


# 14.7 Single shot multibox detection
def ranked_hits(detections, truths, kind, iou, most=100):
    """Which detections of a class hit, by falling score; and the truths.

    `detections` and `truths` are lists of (k, 6) and (m, 5), one for each
    picture. Returns scores and hits of all detections of class `kind`, and
    the number of its truths. At most `most` of a picture count. A hit takes
    the truth of largest IoU among those not taken, as COCO does.
    """
    scores, hits, count = [], [], 0
    for found, true in zip(detections, truths, strict=True):
        true = true[true[:, 0] == kind][:, 1:]
        found = found[found[:, 0] == kind]
        found = found[found[:, 1].argsort(descending=True, stable=True)]
        overlap, count = box_iou(found[:most, 2:], true), count + len(true)
        hit = (overlap >= iou).any(1)  # (k,): it may still lose its truth
        for k in hit.nonzero()[:, 0].tolist():
            best = overlap[k].argmax()
            hit[k] = overlap[k, best] >= iou
            if hit[k]:
                overlap[:, best] = -1  # taken
        scores.append(found[:most, 1])
        hits.append(hit)
    scores, hits = torch.cat(scores), torch.cat(hits)
    order = scores.argsort(descending=True, stable=True)
    return scores[order], hits[order], count


# 14.7 Single shot multibox detection
def precision_recall(hits, count):
    """Precision and recall after each detection of a ranked list."""
    true = hits.double().cumsum(0)
    return true / torch.arange(1, len(hits) + 1), true / max(count, 1)


def average_precision(detections, truths, classes=1, iou=0.5, style="voc"):
    """Average precision of each class: a list, nan for one without truths.

    `style` "voc" is the area under the envelope of the precision, "coco"
    its mean at 101 recalls; both match as COCO does. See `ranked_hits` for
    the lists.
    """
    values = []
    for kind in range(classes):
        _, hits, count = ranked_hits(detections, truths, kind, iou)
        precision, recall = precision_recall(hits, count)
        envelope = precision.flip(0).cummax(0).values.flip(0)
        if count == 0 or len(hits) == 0:
            values.append(float("nan") if count == 0 else 0.0)
        elif style == "coco":
            at = torch.from_numpy(np.linspace(0, 1, 101))
            i = torch.searchsorted(recall, at)
            values.append(F.pad(envelope, (0, 1))[i].mean().item())
        elif style == "voc":
            steps = recall.diff(prepend=recall.new_zeros(1))
            values.append((steps * envelope).sum().item())
        else:
            raise ValueError(f'style is {style!r}; "voc" or "coco".')
    return values


# 14.7 Single shot multibox detection
def cell_features(body, images, batch_size=8):
    """Maps of strides 8 and 16 of EfficientNet-Lite0, as one of stride 8.

    Pictures (n, 3, h, w), bytes or floats from 0 to 1, become features
    (n, 152, h / 8, w / 8) on the CPU, in evaluation mode.
    """
    device, rows = next(body.parameters()).device, []
    with evaluating(body):
        for part in images.split(batch_size):
            maps = body.features(part.to(device))
            coarse = F.interpolate(maps[3], size=maps[2].shape[-2:],
                                   mode="nearest")
            rows.append(torch.cat([maps[2], coarse], 1).cpu())
    return torch.cat(rows)


class DenseHead(nn.Module):
    """Scores and offsets for the anchors of each cell of a map."""

    def __init__(self, channels=152, anchors=3, classes=3, width=48):
        super().__init__()
        self.classes = classes
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
            nn.ReLU())
        self.out = nn.Conv2d(width, anchors * (classes + 5), 1)

    def forward(self, X):
        rows = self.out(self.trunk(X)).permute(0, 2, 3, 1).reshape(
            len(X), -1, self.classes + 5)  # (b, n, classes + 1 + 4)
        return rows[..., :-4], rows[..., -4:].flatten(1)


# 14.8 Region-based CNNs
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
    cells = (last - first + 1)[:, None]  # (n, 1)
    low = first[:, None] + k * cells // bins
    high = first[:, None] - (-(k + 1) * cells // bins)  # rounded up
    cell = torch.arange(size, device=first.device)
    return (cell >= low[..., None]) & (cell < high[..., None])


# 14.8 Region-based CNNs
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


# 14.8 Region-based CNNs
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


# 14.8 Region-based CNNs
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


# 14.8 Region-based CNNs
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


# 14.8 Region-based CNNs
def match_pairs(scores, boxes, labels):
    """Picture, prediction and object of each pair: three tensors (p,).

    The arguments are those of `matching_cost`; in each picture the pairs
    make the total cost least. Rows of a negative class are padding and get
    no partner, nor do objects in excess of the predictions. Raises
    ValueError if shapes or classes do not fit together.
    """
    if boxes.shape != (*scores.shape[:2], 4) or labels.shape[-1] != 5:
        raise ValueError(f"scores {tuple(scores.shape)}, boxes "
                         f"{tuple(boxes.shape)}, labels "
                         f"{tuple(labels.shape)} do not fit together.")
    kinds = labels[..., 0].cpu()
    if (kinds >= scores.shape[-1] - 1).any():
        raise ValueError(f"a label has the class {kinds.max():g}; the scores"
                         f" are for {scores.shape[-1] - 1} classes.")
    with torch.no_grad():
        cost = matching_cost(scores, boxes, labels).cpu()
    pairs = []
    for i, (table, own) in enumerate(zip(cost, kinds >= 0, strict=True)):
        rows = hungarian_match(table[:, own])
        columns = own.nonzero()[:, 0][rows >= 0]
        rows = rows[rows >= 0]
        pairs.append(torch.stack([torch.full_like(rows, i), rows, columns]))
    return torch.cat(pairs, 1).to(labels.device).unbind()


# 14.8 Region-based CNNs
def hungarian_loss(preds, labels, background=0.1, match=match_pairs):
    """One prediction answers for each object; all others are background.

    preds are scores (b, K, q + 1), background first, and boxes (b, K, 4);
    labels (b, m, 5) class and corners, relative, rows of class -1 being
    padding. The loss is the mean cross-entropy, in which a prediction
    without a partner counts `background`, plus 5 times the l1 distance of
    centers and sides and 2 (1 - GIoU), means over the pairs that `match`
    finds. Raises the ValueError of `match_pairs`. Source: Carion et al.,
    2020; another `match` makes another loss, to compare with.
    """
    scores, boxes = preds
    i, query, j = match(scores, boxes, labels)
    classes = torch.zeros_like(scores[..., 0], dtype=torch.long)
    classes[i, query] = labels[i, j, 0].long() + 1
    weight = torch.ones_like(scores[0, 0])
    weight[0] = background
    of_classes = F.cross_entropy(scores.flatten(0, 1), classes.flatten(),
                                 weight)
    own, truth = boxes[i, query], labels[i, j, 1:]
    distance = box_corner_to_center(own) - box_corner_to_center(truth)
    giou = generalized_box_iou(own[:, None], truth[:, None])  # of the pairs
    return of_classes + (5 * distance.abs().sum() + 2 * (1 - giou).sum()
                         ) / max(len(i), 1)


# 14.8 Region-based CNNs
def sine_code(boxes, waves=8):
    """Sines and cosines of center, width and height: (..., 8 * waves).

    boxes (..., 4) are relative corners; the frequencies are 1/2, 1, 2, ...
    """
    powers = 2.0 ** torch.arange(waves, device=boxes.device)
    angle = math.pi * box_corner_to_center(boxes)[..., None] * powers
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(-2)


class SetLayer(nn.Module):
    """A Transformer layer whose attention scores get an addend.

    `forward(x, bias)`: x (b, K, width), bias broadcasts to (b, heads, K, K);
    with bias None, each of the K sees only itself.
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
        seen = v if bias is None else F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias)
        x = self.norm1(x + self.out(seen.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.ffn(x))


# 14.8 Region-based CNNs
class SetHead(nn.Module):
    """A second stage that answers once for each object.

    `propose(X)` takes the K anchors of maps X (b, c, h, w) to which the
    DenseHead `trunk` gives the largest object scores, and returns rows
    (b, K, width of the trunk + 4 + q + 1): features of the anchor's cell,
    box, scores, without gradients. `forward` takes maps or such rows and
    returns scores (b, K, q + 1) and boxes (b, K, 4): those of the trunk,
    changed by `layers` layers of attention, whose scores get `overlap`
    times the IoU of two boxes; with None, a candidate sees only itself.
    A subclass may choose other candidates in `choose`.
    Raises ValueError if there are fewer than K anchors, or not as many as
    the trunk answers for. Sources: Carion et al., 2020; Zhu et al., 2020
    (candidates); Hu et al., 2017 (geometry in attention).
    """

    def __init__(self, trunk, anchors, K=160, layers=2, overlap=8.0,
                 width=32, heads=2):
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

    def choose(self, scores, shape):
        """Positions (b, K) of the candidates among anchors (b, n, q + 1)."""
        return scores.softmax(-1)[..., 1:].amax(-1).topk(self.K).indices


# 14.8 Region-based CNNs
@add_to_class(SetHead)
def propose(self, X):
    with evaluating(self.trunk) as trunk:
        maps, (scores, offsets) = trunk.trunk(X), trunk(X)
    n, cells = len(self.anchors), maps[0, 0].numel()
    if scores.shape[1] != n:
        raise ValueError(f"{n} anchors, but {scores.shape[1]} answers.")
    boxes = offset_inverse(self.anchors, offsets.view(len(X), n, 4))
    best = self.choose(scores, maps.shape[2:])
    features = maps.flatten(2).mT  # (b, cells, width of the trunk)
    return torch.cat([part.gather(1, index[..., None].expand(
        -1, -1, part.shape[2])) for part, index in (
            (features, best // (n // cells)), (boxes, best),
            (scores, best))], -1)


@add_to_class(SetHead)
def forward(self, X):
    rows = self.propose(X) if X.dim() == 4 else X
    features, boxes, scores = rows.split(self.parts, -1)
    x = self.embed(torch.cat([features, sine_code(boxes), scores], -1))
    bias = None if self.overlap is None else (
        self.overlap * box_iou(boxes, boxes)[:, None])
    for layer in self.layers:
        x = layer(x, bias)
    return scores + self.cls(x), offset_inverse(boxes, self.box(x))


# 14.9 Semantic segmentation and the dataset
CAMVID_CLASSES = ("sky", "building", "pole", "road", "pavement", "tree",
                  "sign", "fence", "car", "pedestrian", "bicyclist")
CAMVID_COLORS = torch.tensor([  # the last one is void, index 11
    (150, 200, 240), (170, 90, 60), (250, 250, 250), (90, 80, 110),
    (235, 170, 190), (40, 130, 60), (255, 225, 50), (240, 130, 20),
    (30, 60, 200), (220, 20, 40), (30, 210, 200), (0, 0, 0)],
    dtype=torch.uint8)


# 14.9 Semantic segmentation and the dataset
def read_camvid(split, size, number=None):
    """Pictures (n, 3, h, w) and masks (n, h, w), bytes, and their names.

    `split` is "train" or "val"; with a `number`, so many pictures are
    taken at even distances in the order of their names.
    """
    found = d2l.fetch("camvid").files
    names = [name for name in found if name.startswith(f"CamVid/{split}/")]
    if number is not None:
        if not 0 < number <= len(names):
            raise ValueError(f"{number} pictures of {split} are asked for; "
                             f"there are {len(names)}.")
        names = [names[i * len(names) // number] for i in range(number)]
    masks = [name.replace(f"/{split}/", f"/{split}annot/") for name in names]
    return (read_images([found[name] for name in names], size),
            read_images([found[name] for name in masks], size, "L"),
            [name.split("/")[-1].removesuffix(".png") for name in names])


# 14.9 Semantic segmentation and the dataset
def voc_colormap(n=256):
    """The colours of Pascal VOC's masks: bytes (n, 3), n at most 256.

    Bits 0, 3, 6 of an index go to red, 1, 4, 7 to green, 2, 5 to blue,
    each time from the highest bit of the channel downwards.
    """
    if not 0 < n <= 256:
        raise ValueError(f"n is {n}; there are 1 to 256 colours.")
    index = torch.arange(n)
    channels = [sum((index >> (3 * i + c) & 1) << (7 - i) for i in range(3))
                for c in range(3)]
    return torch.stack(channels, 1).to(torch.uint8)


# 14.9 Semantic segmentation and the dataset
def colormap2label(colors, labels=None):
    """A table from colours (n, 3) to labels (n,), for `label_indices`.

    `labels` are the positions in `colors` unless given. Returns the
    colours as numbers, sorted, and their labels: (2, n).
    """
    colors = torch.as_tensor(colors)
    labels = torch.arange(len(colors)) if labels is None else labels
    codes, order = pack_colors(colors).sort()
    if len(codes.unique()) < len(codes):
        raise ValueError("two labels have the same colour.")
    return torch.stack([codes, torch.as_tensor(labels)[order]])


def pack_colors(colors):
    """Bytes (..., 3) as one number for each colour."""
    red, green, blue = colors.long().unbind(-1)
    return (red << 16) + (green << 8) + blue


def label_indices(mask, table=None):
    """Labels (..., h, w) of a coloured mask, bytes (..., 3, h, w).

    `table` comes from `colormap2label`; without it, it is Pascal VOC's:
    the labels 0 to 20, and 255 for borders. Other colours raise ValueError.
    """
    if table is None:
        labels = torch.tensor([*range(21), 255])
        table = colormap2label(voc_colormap()[labels], labels)
    codes, labels = table.to(mask.device)
    wanted = pack_colors(mask.movedim(-3, -1))
    place = torch.searchsorted(codes, wanted).clamp(max=len(codes) - 1)
    wrong = codes[place] != wanted
    if wrong.any():
        color = mask.movedim(-3, -1)[wrong][0].tolist()
        raise ValueError(f"the mask has the colour {color}, which is none "
                         f"of the {len(codes)} in the table.")
    return labels[place]


# 14.9 Semantic segmentation and the dataset
def rand_crop(img, label, h, w, ignore=255, generator=None):
    """The same random window of a picture (..., H, W) and its labels.

    What is smaller than h x w is first padded at the bottom and on the
    right: the picture with 0, the labels (..., H, W) with `ignore`.
    """
    H, W = label.shape[-2:]
    if img.shape[-2:] != label.shape[-2:]:
        raise ValueError(f"the picture has {tuple(img.shape[-2:])} pixels, "
                         f"its labels {tuple(label.shape[-2:])}.")
    padding = (0, max(w - W, 0), 0, max(h - H, 0))
    img, label = F.pad(img, padding), F.pad(label, padding, value=ignore)
    top, left = (torch.randint(size - part + 1, (), generator=generator)
                 for size, part in zip(label.shape[-2:], (h, w)))
    window = (..., slice(top, top + h), slice(left, left + w))
    return img[window], label[window]


# 14.9 Semantic segmentation and the dataset
class SegData(DataModule):
    """Pictures with a label for each pixel: "camvid" or "scenes" (drawn).

    `train` and `val` are tuples (X, y): floats (n, 3, h, w) in [0, 1] and
    labels (n, h, w). `images` and `labels` hold the same as bytes and
    labels, `names` the pictures' names and `sequences` the drives that
    they come from; these four are dicts with the keys "train" and "val".
    `classes` are the names, and labels equal to `ignore` count nowhere.
    `size` is 180 x 240 unless given, for the (square) scenes 64 x 64.
    """

    def __init__(self, kind="camvid", batch_size=8, size=None,
                 num_train=None, num_val=None, crop=None, seed=0):
        super().__init__()
        self.save_hyperparameters()
        if kind not in ("camvid", "scenes"):
            raise ValueError(f"kind is {kind!r}; use 'camvid' or 'scenes'.")
        self.images, self.labels, self.names = {}, {}, {}
        load = self.load_camvid if kind == "camvid" else self.load_scenes
        load()
        self.num_classes = len(self.classes)
        self.sequences = {part: [name.split("_")[0] for name in names]
                          for part, names in self.names.items()}

    @cached_property
    def train(self):
        return scale_bytes(self.images["train"]), self.labels["train"]

    @cached_property
    def val(self):
        return scale_bytes(self.images["val"]), self.labels["val"]


# 14.9 Semantic segmentation and the dataset
@add_to_class(SegData)
def load_camvid(self):
    self.classes, self.ignore = CAMVID_CLASSES, 11
    self.is_real = d2l.fetch("camvid").is_real
    for part, number in (("train", self.num_train), ("val", self.num_val)):
        self.images[part], masks, self.names[part] = read_camvid(
            part, self.size or (180, 240), number)
        self.labels[part] = masks.long()


@add_to_class(SegData)
def load_scenes(self):
    self.classes = ("background", "disc", "square", "triangle")
    self.ignore, self.is_real = 255, False
    height, width = self.size or (64, 64)
    if height != width:
        raise ValueError(f"scenes are square; size is {self.size}.")
    for i, (part, number) in enumerate((("train", self.num_train or 400),
                                        ("val", self.num_val or 80))):
        drawn = ShapeScenes(number, height, 2 * self.seed + i)
        self.images[part], self.labels[part] = drawn.images, drawn.classes
        self.names[part] = [f"{part}{j}" for j in range(number)]


# 14.9 Semantic segmentation and the dataset
@add_to_class(SegData)
def get_dataloader(self, train):
    """Batches (X, y): floats (b, 3, h, w), labels (b, h, w).

    Training batches are shuffled and, with `crop` = (h, w), cropped.
    """
    generator = getattr(self, "generator", None)

    def prepare(X, y):
        if train and self.crop:
            pairs = [rand_crop(img, label, *self.crop, self.ignore,
                               generator) for img, label in zip(X, y)]
            X, y = (torch.stack(part) for part in zip(*pairs))
        return scale_bytes(X), y

    part = "train" if train else "val"
    return d2l.BatchLoader((self.images[part], self.labels[part]),
                           self.batch_size, shuffle=train,
                           generator=generator, transform=prepare)


# 14.9 Semantic segmentation and the dataset
def confusion(pred, target, k, ignore=None):
    """Confusion matrix (k, k): rows are true classes, columns predicted.

    `pred` and `target` are labels of one shape. Pixels whose target is
    `ignore` are left out. The matrices of batches may be added.
    """
    if pred.shape != target.shape:
        raise ValueError(f"predictions {tuple(pred.shape)} and targets "
                         f"{tuple(target.shape)} differ in shape.")
    pred, target = pred.flatten(), target.flatten()
    if ignore is not None:
        keep = target != ignore
        pred, target = pred[keep], target[keep]
    for name, labels in (("prediction", pred), ("target", target)):
        if labels.numel() and not (0 <= labels.min()
                                   and labels.max() < k):
            raise ValueError(f"a {name} lies outside 0 to {k - 1}.")
    cells = target.long() * k + pred.long()
    return torch.bincount(cells, minlength=k * k).reshape(k, k)


def class_iou(cm):
    """IoU (k,) of each class; nan where truth and prediction lack it."""
    hits = cm.diag().double()
    return hits / (cm.sum(0) + cm.sum(1) - hits)


def miou(cm):
    """Mean IoU over the classes that truth or prediction contain."""
    return class_iou(cm).nanmean().item()


def pixel_accuracy(cm):
    """Share of the pixels whose class is right."""
    return (cm.diag().sum() / cm.sum()).item()


# 14.10 Transposed convolution
def tconv_out(n, k, padding=0, stride=1, output_padding=0):
    """Output size of a transposed convolution along one axis, (14.10.2).

    `n` is the input size and `k` that of the kernel. Raises ValueError if
    padding leaves nothing.
    """
    size = (n - 1) * stride - 2 * padding + k + output_padding
    if size < 1:
        raise ValueError(f"a padding of {padding} cuts all of the "
                         f"{size + 2 * padding} outputs; pad less.")
    return size


# 14.10 Transposed convolution
def phase_sums(weight, stride):
    """Sums of a kernel's entries that share a place modulo the stride.

    `weight` (..., k, k) gives (..., stride, stride). A transposed
    convolution maps constants to constants, away from the border, if and
    only if the sums of each kernel are equal.
    """
    *rest, k, _ = weight.shape
    fill = -k % stride
    blocks = F.pad(weight, (0, fill, 0, fill)).unflatten(
        -1, (-1, stride)).unflatten(-3, (-1, stride))
    return blocks.sum((-4, -2))


# 14.11 Fully convolutional networks
def bilinear_kernel(in_channels, out_channels, k):
    """Weights of a transposed convolution that interpolates bilinearly.

    Returns (in_channels, out_channels, k, k): channel c of the output is
    channel c of the input, enlarged by the stride s = (k + 1) // 2. For
    k = 4, 8, ..., padding s / 2 makes n * s of n entries. Raises ValueError if
    the numbers of channels differ, or k < 1.
    Source: Long, Shelhamer, Darrell (2015) start their layers so.
    """
    if in_channels != out_channels:
        raise ValueError(f"{in_channels} channels cannot become "
                         f"{out_channels} by enlarging each of them.")
    if k < 1:
        raise ValueError(f"the kernel's size is {k}; it must be positive.")
    s = (k + 1) // 2
    center = s - 0.5 if k % 2 == 0 else s - 1
    t = 1 - (torch.arange(k) - center).abs() / s
    weight = torch.zeros(in_channels, out_channels, k, k)
    channel = torch.arange(in_channels)
    weight[channel, channel] = torch.outer(t, t)
    return weight


# 14.11 Fully convolutional networks
class FCN(nn.Module):
    """Scores for each pixel from the last map of a backbone.

    `backbone` makes maps (n, c, ceil(h / stride), ceil(w / stride)) of
    pictures (n, 3, h, w); `forward` makes scores (n, num_classes, h, w):
    a 1x1 convolution, a transposed one that starts as bilinear
    interpolation by `stride`, and a cut at the bottom and on the right.
    Raises ValueError for an odd stride, or if the maps do not cover the
    picture. Source: FCN-32s of Long, Shelhamer and Darrell (2015).
    """

    def __init__(self, backbone, num_classes, stride):
        super().__init__()
        if stride < 2 or stride % 2:
            raise ValueError(f"the stride is {stride}; it must be even.")
        self.backbone = backbone
        blank = next(backbone.parameters()).new_zeros(
            1, 3, 2 * stride, 2 * stride)
        with evaluating(backbone):
            channels = backbone(blank).shape[1]
        self.score = nn.Conv2d(channels, num_classes, 1)
        self.up = nn.ConvTranspose2d(
            num_classes, num_classes, 2 * stride, stride, stride // 2,
            bias=False)
        with torch.no_grad():
            self.up.weight.copy_(bilinear_kernel(num_classes, num_classes,
                                                 2 * stride))

    def forward(self, X):
        scores = self.up(self.score(self.backbone(X)))
        h, w = X.shape[-2:]
        if scores.shape[-2] < h or scores.shape[-1] < w:
            raise ValueError(f"the maps cover {tuple(scores.shape[-2:])} of "
                             f"{h} x {w} pixels; pad the picture.")
        return scores[..., :h, :w]


# 14.11 Fully convolutional networks
def pad_to_multiple(X, s):
    """X (..., h, w), zeros added below and on the right to multiples of s."""
    return F.pad(X, (0, -X.shape[-1] % s, 0, -X.shape[-2] % s))


# 14.11 Fully convolutional networks
class TinyFCN(FCN):
    """An FCN with stride 8 and an encoder of 16, 32, 48 and 64 channels.

    Pictures (n, 3, h, w) of any size give scores (n, num_classes, h, w).
    `init` is the start of the transposed convolution: "bilinear",
    "frozen" (bilinear, not trained) or "xavier"; another one raises
    ValueError. The other weights do not depend on it.
    """

    def __init__(self, init="bilinear", num_classes=4):
        if init not in ("bilinear", "frozen", "xavier"):
            raise ValueError(f"init is {init!r}; use 'bilinear', 'frozen' "
                             "or 'xavier'.")
        widths, layers = (3, 16, 32, 48, 64), []
        for i, (c, out) in enumerate(zip(widths, widths[1:])):
            layers += [nn.Conv2d(c, out, 3, 2 if i < 3 else 1, 1,
                                 bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        super().__init__(nn.Sequential(*layers), num_classes, 8)
        if init == "xavier":
            nn.init.xavier_uniform_(self.up.weight)
        self.up.weight.requires_grad_(init != "frozen")


# 14.11 Fully convolutional networks
def predict_tiled(net, img, tile, margin=0):
    """Scores (k, h, w) of a picture (c, h, w), computed tile by tile.

    `net` maps (1, c, a, b) to scores (1, k, a, b). Each `tile` x `tile`
    part is cut out with `margin` pixels around it, where the picture has
    them, and only its middle is kept. Runs in evaluation mode without
    gradients; modes come back. Raises ValueError for a tile below 1, a
    negative margin, or scores of another size. The result is that of the
    whole picture if the network's receptive field reaches no further
    than the margin, and both sizes are multiples of its stride.
    Source: the overlapping tiles of Ronneberger et al. (2015).
    """
    if tile < 1 or margin < 0:
        raise ValueError(f"tile is {tile}, margin {margin}; they must be "
                         "at least 1 and 0.")
    h, w = img.shape[-2:]
    rows = []
    with evaluating(net):
        for y in range(0, h, tile):
            top, row = max(y - margin, 0), []
            for x in range(0, w, tile):
                left = max(x - margin, 0)
                part = img[None, :, top:y + tile + margin,
                           left:x + tile + margin]
                scores = net(part)[0]
                if scores.shape[-2:] != part.shape[-2:]:
                    raise ValueError("the network made "
                                     f"{tuple(scores.shape[-2:])} scores "
                                     f"of {tuple(part.shape[-2:])} pixels.")
                row.append(scores[:, y - top:y - top + tile,
                                  x - left:x - left + tile])
            rows.append(torch.cat(row, 2))
    return torch.cat(rows, 1)


# 14.11 Fully convolutional networks
def upsample(X, factor, size):
    """Maps (n, c, h, w), `factor` times as large, cut to `size` (h', w').

    Bilinear; what is cut lies at the bottom and on the right. Raises
    ValueError if the enlarged maps do not cover `size`.
    """
    if factor != 1:
        X = F.interpolate(X, scale_factor=factor, mode="bilinear")
    if X.shape[-2] < size[0] or X.shape[-1] < size[1]:
        raise ValueError(f"maps of {tuple(X.shape[-2:])} do not cover "
                         f"{tuple(size)}.")
    return X[..., :size[0], :size[1]]


def label2image(pred, colors=None):
    """Labels (..., h, w) as colours (..., h, w, 3), bytes.

    `colors` (k, 3) is a palette, that of Pascal VOC unless given. Raises
    ValueError for a label that it does not have.
    """
    colors = voc_colormap() if colors is None else colors
    if pred.numel() and not 0 <= pred.min() <= pred.max() < len(colors):
        raise ValueError(f"labels run from {pred.min()} to {pred.max()}; "
                         f"there are {len(colors)} colours.")
    return colors.to(pred.device)[pred.long()]


# 14.11 Fully convolutional networks
#: Channels of EfficientNet-Lite0's maps, by stride.
LITE0_CHANNELS = {4: 24, 8: 40, 16: 112, 32: 320}


class FCNHead(nn.Module):
    """Scores of classes from maps of EfficientNet-Lite0 at some strides.

    `levels` are the strides, fine to coarse, each twice the one before or
    a higher power of two; `forward` takes their maps [(n, c, h, w), ...],
    with the channels of LITE0_CHANNELS, in this order, and returns scores
    (n, num_classes, h, w) of the finest size: 1x1 convolutions to `width`
    channels, bilinear enlargement, sum, 3x3 and 1x1 convolution. Raises
    ValueError for unknown or unordered strides, or another number of
    maps. Source: the skips of Long et al. (2015), on features.
    """

    def __init__(self, levels, width=48, num_classes=11):
        super().__init__()
        self.levels = tuple(levels)
        if not self.levels or any(s not in LITE0_CHANNELS
                                  for s in self.levels) or list(
                self.levels) != sorted(set(self.levels)):
            raise ValueError(f"levels are {self.levels}; use some of "
                             f"{tuple(LITE0_CHANNELS)}, fine to coarse.")
        self.lateral = nn.ModuleList(
            nn.Conv2d(LITE0_CHANNELS[s], width, 1) for s in self.levels)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)
        self.score = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps):
        if len(maps) != len(self.levels):
            raise ValueError(f"{len(maps)} maps for the {len(self.levels)} "
                             f"levels {self.levels}.")
        size = maps[0].shape[-2:]
        total = sum(upsample(layer(X), s // self.levels[0], size)
                    for layer, X, s in zip(self.lateral, maps, self.levels))
        return self.score(F.relu(self.smooth(F.relu(total))))


# 14.11 Fully convolutional networks
class TinyUNet(nn.Module):
    """A U-Net of three scales: maps are doubled and joined with finer ones.

    Pictures (n, in_channels, h, w), with h and w multiples of 4, give
    scores (n, num_classes, h, w); other sizes raise ValueError. Channels
    are `width`, twice and four times as many. Unlike the original of
    Ronneberger, Fischer and Brox (2015), it pads its convolutions and
    normalizes batches.
    """

    def __init__(self, in_channels=3, num_classes=4, width=8):
        super().__init__()
        w = width
        self.down = nn.ModuleList(
            down_sample_blk(c, out)[:-1] for c, out in (
                (in_channels, w), (w, 2 * w), (2 * w, 4 * w)))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * c, c, 2, 2) for c in (2 * w, w))
        self.merge = nn.ModuleList(
            down_sample_blk(2 * c, c)[:-1] for c in (2 * w, w))
        self.score = nn.Conv2d(w, num_classes, 1)

    def forward(self, X):
        if X.shape[-2] % 4 or X.shape[-1] % 4:
            raise ValueError(f"the picture has {X.shape[-2]} x "
                             f"{X.shape[-1]} pixels; pad it to multiples "
                             "of 4.")
        fine = self.down[0](X)
        middle = self.down[1](F.max_pool2d(fine, 2))
        X = self.down[2](F.max_pool2d(middle, 2))
        for up, merge, skip in zip(self.up, self.merge, (middle, fine)):
            X = merge(torch.cat([skip, up(X)], 1))
        return self.score(X)


# 14.12 Neural style transfer
def extract_features(net, X, layers):
    """Outputs of the layers with these names, {name: tensor}.

    Each output is copied, because a later layer that works in place would
    change it. No hook stays behind.
    """
    found, handles = {}, []
    try:
        for name in layers:
            handles.append(net.get_submodule(name).register_forward_hook(
                lambda layer, inputs, output, name=name: found.update(
                    {name: output.clone()})))
        net(X)
    finally:
        for handle in handles:
            handle.remove()
    return found


# 14.12 Neural style transfer
def gram(X):
    """Gram matrices (n, c, c) of maps (n, c, h, w), divided by c h w."""
    rows = X.flatten(2)  # (n, c, h * w)
    return rows @ rows.mT / rows[0].numel()


def content_loss(Y_hat, Y):
    """Mean squared difference of maps, place by place."""
    return F.mse_loss(Y_hat, Y)


def style_loss(Y_hat, gram_Y):
    """Mean squared difference of Gram matrices."""
    return F.mse_loss(gram(Y_hat), gram_Y)


# 14.12 Neural style transfer
def tv_loss(X):
    """Mean absolute difference of neighbours in the last two axes."""
    down = (X[..., 1:, :] - X[..., :-1, :]).abs().mean()
    right = (X[..., 1:] - X[..., :-1]).abs().mean()
    return (down + right) / 2


# 14.13 Image classification (CIFAR-10) as a competition
def sort_ids(ids):
    """Ids in numeric order if all are whole numbers, else as words."""
    ids = list(ids)
    numeric = all(name.isdecimal() for name in ids)
    return sorted(ids, key=int if numeric else str)


def read_csv_labels(path):
    """{id: class} from a table with two columns, the first called "id".

    Ids stay words. Raises ValueError for another form, or if an id comes
    twice.
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if header[:1] != ["id"] or any(len(row) != 2
                                   for row in (header, *rows)):
        raise ValueError(f"{path} must have two columns in every row, the "
                         f"first called 'id'; its header is {header}.")
    labels = dict(rows)
    if len(labels) < len(rows):
        raise ValueError(f"{path} has {len(rows)} rows, but only "
                         f"{len(labels)} different ids.")
    return labels


# 14.13 Image classification (CIFAR-10) as a competition
def split_train_valid(labels, ratio, seed=0):
    """Two lists of ids, for training and for validation.

    `labels` is {id: class}. Of a class with n pictures, drawn by `seed`,
    max(floor(ratio * n), 1) are for validation. The order of `labels`
    does not matter.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio is {ratio}; it must be in [0, 1).")
    rng, train, valid = random.Random(seed), [], []
    for name in sorted(set(labels.values())):
        ids = sort_ids(key for key in labels if labels[key] == name)
        if len(ids) < 2:
            raise ValueError(f"class {name!r} has a single picture: none "
                             "would be left for training.")
        rng.shuffle(ids)
        count = max(int(ratio * len(ids) + 1e-9), 1)  # 0.29 * 100 < 29
        valid += ids[:count]
        train += ids[count:]
    return sort_ids(train), sort_ids(valid)


# 14.13 Image classification (CIFAR-10) as a competition
class ImageFiles(Dataset):
    """Picture files of one folder, named by `ids`, read when asked for.

    Item i is (X,) or, if `labels` {id: class} are given, (X, y): bytes
    (3, h, w), and the class as its place in the sorted `classes`. With
    `size` (h, w) the pictures are resized. `tensors()` gives all items,
    or those from `start` to `stop`, as one tuple of tensors.
    """

    def __init__(self, folder, ids, labels=None, size=None):
        self.ids, self.size = list(ids), size
        there = {path.stem: path for path in Path(folder).iterdir()}
        lost = [name for name in self.ids if name not in there]
        if lost:
            raise FileNotFoundError(f"{folder} has no picture for "
                                    f"{len(lost)} ids such as {lost[0]!r}.")
        self.paths = [there[name] for name in self.ids]
        self.classes = sorted(set(labels.values())) if labels else []
        self.y = torch.tensor([self.classes.index(labels[name])
                               for name in self.ids]) if labels else None

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        i = range(len(self))[i]  # counts -1 from the end, or refuses
        return tuple(part[0] for part in self.tensors(i, i + 1))

    def tensors(self, start=0, stop=None):
        X = read_images(self.paths[start:stop], self.size)
        return (X,) if self.y is None else (X, self.y[start:stop])


# 14.13 Image classification (CIFAR-10) as a competition
def predict_files(net, files, batch_size=250):
    """net(X) for the pictures X of `files`, in their order, on the CPU.

    In evaluation mode and without gradients; the modes come back. The
    net takes bytes (n, 3, h, w); only one batch is in memory at a time.
    """
    device = next(net.parameters()).device
    with evaluating(net):
        return torch.cat([
            net(files.tensors(i, i + batch_size)[0].to(device)).cpu()
            for i in range(0, len(files), batch_size)])


# 14.13 Image classification (CIFAR-10) as a competition
def write_submission(ids, preds, classes, path):
    """A table with a row for each id, in the order of `sort_ids`.

    `preds` (n,) are places in `classes`, the i-th for the i-th id.
    """
    names = {name: classes[k] for name, k in
             zip(ids, preds.tolist(), strict=True)}
    if len(names) < len(preds) or len(preds) and preds.min() < 0:
        raise ValueError("an id comes twice, or a class is negative.")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label"])
        writer.writerows([name, names[name]] for name in sort_ids(names))


def check_submission(path, ids, classes):
    """Raise ValueError if the table at `path` would be refused.

    It must answer every id once, in the order of `sort_ids`, and with
    one of the `classes`.
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if header != ["id", "label"] or any(len(row) != 2 for row in rows):
        raise ValueError("every row must have two columns, id and label; "
                         f"the header is {header}.")
    found, wanted = [row[0] for row in rows], sort_ids(ids)
    if found != wanted:
        lost, extra = set(wanted) - set(found), set(found) - set(wanted)
        raise ValueError(f"{len(found)} rows for {len(wanted)} ids: "
                         f"{len(lost)} ids missing, {len(extra)} unknown, "
                         "or some twice or in another order.")
    strange = {row[1] for row in rows} - set(classes)
    if strange:
        raise ValueError(f"{sorted(strange)} are no classes.")


# 14.14 Dog breed identification (ImageNet dogs) as a competition
def log_loss(P, y, eps=1e-15):
    """Log loss of probabilities P (n, k) for classes y (n,), a number.

    Minus the mean logarithm of the probability of the true class, which
    counts as `eps` if it is smaller. Computed in float64 on the CPU.
    Raises ValueError for other shapes, for classes outside 0 .. k - 1, and
    for rows that are no probabilities (sums off 1 by more than 1e-4).
    """
    P, y = P.detach().cpu().double(), y.cpu()
    if P.ndim != 2 or y.shape != P.shape[:1] or not len(y):
        raise ValueError(f"probabilities {tuple(P.shape)} and classes "
                         f"{tuple(y.shape)} must be (n, k) and (n,), n > 0.")
    if y.min() < 0 or y.max() >= P.shape[1]:
        raise ValueError(f"classes must be 0 .. {P.shape[1] - 1}, there are "
                         f"{int(y.min())} .. {int(y.max())}.")
    if not (P.min() >= 0 and (P.sum(1) - 1).abs().max() < 1e-4):
        raise ValueError("each row of P must be probabilities with the "
                         "sum 1; pass logits.softmax(1), not logits.")
    losses = -P[torch.arange(len(y)), y].clamp(min=eps).log()  # (n,)
    return losses.mean().item() + 0.0  # 0, not -0


# 14.14 Dog breed identification (ImageNet dogs) as a competition
class FeatureExtractor(nn.Module):
    """A frozen copy of `net` without its last linear layer: (n, d).

    Always in evaluation mode and without gradients, also after `train()`.
    `net` is a classifier whose output is that layer's, such as a ResNet of
    torchvision or EfficientNet-Lite0; `num_features` is its d. `net` stays
    as it is. Raises ValueError if it has no linear layer.
    """

    def __init__(self, net):
        super().__init__()
        name = last_linear(net)
        self.num_features = net.get_submodule(name).in_features
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.net.set_submodule(name, nn.Identity())
        self.eval()

    def train(self, mode=True):
        return super().train(False)

    @torch.no_grad()
    def forward(self, X):
        return self.net(X)


# 14.14 Dog breed identification (ImageNet dogs) as a competition
def cache_features(net, pictures, batch_size=25, augment=None, views=1,
                   seed=0):
    """net(X) of all pictures in evaluation mode, on the CPU: (n, d).

    `pictures` are a tensor (n, 3, h, w), or `ImageFiles`, of which only one
    batch is in memory at a time. With `augment(X, generator=g)`: `views`
    changed versions of each batch, (views, n, d), with changes that `seed`
    fixes. Raises ValueError for no picture, for views < 1, and for more
    than one view without `augment`. To keep features on the disk, see
    `d2l_helpers.pretrained.cached_features`.
    """
    if not len(pictures) or views < 1 or (views > 1 and augment is None):
        raise ValueError(f"{len(pictures)} pictures in {views} views: there "
                         "must be some, and several views need `augment`.")
    device = next(net.parameters()).device
    rng, rows = torch.Generator().manual_seed(seed), []
    with evaluating(net):
        for i in range(0, len(pictures), batch_size):
            X = (pictures[i:i + batch_size]
                 if isinstance(pictures, torch.Tensor)
                 else pictures.tensors(i, i + batch_size)[0])
            changed = [augment(X, generator=rng) if augment else X
                       for _ in range(views)]
            rows.append(torch.stack([net(V.to(device)).cpu()
                                     for V in changed]))
    stored = torch.cat(rows, 1)  # (views, n, d)
    return stored if augment else stored[0]


# 14.14 Dog breed identification (ImageNet dogs) as a competition
def head(in_features, hidden, out_features):
    """Two linear layers with a ReLU between: (n, in) -> (n, out).

    Raises ValueError for sizes below 1.
    """
    if min(in_features, hidden, out_features) < 1:
        raise ValueError(f"sizes {in_features}, {hidden}, {out_features} "
                         "must be positive.")
    return nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(),
                         nn.Linear(hidden, out_features))


def train_head(Z, y, hidden=64, epochs=30, lr=1e-3, smoothing=0.0, seed=0,
               num_classes=None):
    """A head trained on features Z (n, d) or (views, n, d), y (n,).

    AdamW in batches of 50, one cycle with the peak `lr`, label smoothing;
    `seed` fixes start and order. All views of a picture are examples. The
    head comes in evaluation mode, on the device of Z. Raises ValueError
    for other shapes.
    """
    if Z.ndim not in (2, 3) or y.shape != Z.shape[-2:-1]:
        raise ValueError(f"features {tuple(Z.shape)} must be (n, d) or "
                         f"(views, n, d), and labels {tuple(y.shape)} (n,).")
    y = y.repeat(len(Z)) if Z.ndim == 3 else y
    Z = Z.reshape(-1, Z.shape[-1])
    torch.manual_seed(seed)
    net = head(Z.shape[1], hidden, num_classes or int(y.max()) + 1)
    net.to(Z.device)
    train_ch14(net, (Z, y), None, nn.CrossEntropyLoss(
        label_smoothing=smoothing), torch.optim.AdamW(
            net.parameters(), lr, fused=True),
        epochs, Z.device, batch_size=50, score=None, seed=seed)
    return net.eval()


# 14.14 Dog breed identification (ImageNet dogs) as a competition
def temperature_fit(logits, y):
    """The T of least log loss of softmax(logits / T), a number.

    `logits` (n, k) and classes y (n,) of pictures that were not used for
    training. T is 1 or one of 81 steps from 0.1 to 10, so the loss on
    these pictures never rises. Raises ValueError as `log_loss`.
    Source: C. Guo et al. (2017).
    """
    logits = logits.detach().cpu().double()
    return min([1.0, *torch.logspace(-1, 1, 81).tolist()], key=lambda T:
               log_loss((logits / T).softmax(-1), y))


# 14.14 Dog breed identification (ImageNet dogs) as a competition
def write_prob_submission(ids, P, classes, path):
    """A table: id, then a column for each class, sorted by its name.

    `P` (n, k) are probabilities, the i-th row for the i-th of `ids`, the
    j-th column for the j-th of `classes`; rows come in the order of
    `sort_ids`. Ten significant digits, so no small one becomes 0. Raises
    ValueError for other shapes, names that come twice, and rows that are
    no probabilities (sums off 1 by more than 1e-4; they are scaled to 1).
    """
    ids, classes, P = list(ids), list(classes), P.detach().cpu().double()
    if P.shape != (len(ids), len(classes)) or not ids:
        raise ValueError(f"{len(ids)} ids and {len(classes)} classes need "
                         f"probabilities of that shape, not {tuple(P.shape)}.")
    if len(set(ids)) < len(ids) or len(set(classes)) < len(classes):
        raise ValueError("an id or a class comes twice.")
    if not (P.min() >= 0 and (P.sum(1) - 1).abs().max() < 1e-4):
        raise ValueError("each row of P must be probabilities with sum 1.")
    rows = dict(zip(ids, (P / P.sum(1, keepdim=True)).tolist()))
    order = sorted(range(len(classes)), key=lambda j: classes[j])
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", *(classes[j] for j in order)])
        writer.writerows([name, *(f"{rows[name][j]:.10g}" for j in order)]
                         for name in sort_ids(ids))


# 14.14 Dog breed identification (ImageNet dogs) as a competition
def clip_loss(z, positives=None):
    """CLIP's loss of scores z (n, n), pictures by captions, a scalar.

    The mean of the cross-entropies along rows and columns. `positives`
    (n, n), true where picture and caption belong together, is the diagonal
    if not given; several in a row or column share the target equally, and
    each needs one, or the loss is nan. Raises ValueError for other shapes.
    Source: A. Radford et al. (2021).
    """
    y = pair_targets(z, positives)
    return -sum((y / y.sum(axis, keepdim=True) * z.log_softmax(axis))
                .sum(axis).mean() for axis in (0, 1)) / 2


def siglip_loss(z, positives=None):
    """SigLIP's loss of scores z (n, n), pictures by captions, a scalar.

    -log sigmoid(z) where they belong together, -log sigmoid(-z) elsewhere,
    summed and divided by n. For `positives` see `clip_loss`. Raises
    ValueError for other shapes. Source: X. Zhai et al. (2023).
    """
    y = 2 * pair_targets(z, positives) - 1
    return -F.logsigmoid(y * z).sum() / len(z)


def pair_targets(z, positives=None):
    """`positives` (n, n) as numbers like z; by default the diagonal."""
    if z.ndim != 2 or z.shape[0] != z.shape[1]:
        raise ValueError("scores must be (n, n), a caption for each "
                         f"picture; they are {tuple(z.shape)}.")
    if positives is None:
        return torch.eye(len(z), dtype=z.dtype, device=z.device)
    if positives.shape != z.shape:
        raise ValueError(f"positives {tuple(positives.shape)} must have the "
                         f"shape of the scores, {tuple(z.shape)}.")
    return positives.to(z.dtype)


# 14.14 Dog breed identification (ImageNet dogs) as a competition
class ContrastiveNet(nn.Module):
    """Unit vectors for pictures and captions, and scores of their pairs.

    `image` is a module that gives (n, dim). Captions are numbers of words
    (n, length), below `num_words`, whose vectors are averaged. The scale
    starts at 10; `bias` is the start of b, or None for no b. Raises
    ValueError for sizes below 1. Source: A. Radford et al. (2021), X. Zhai
    et al. (2023).
    """

    def __init__(self, image, num_words, dim, hidden=64, bias=None):
        super().__init__()
        if min(num_words, dim, hidden) < 1:
            raise ValueError(f"sizes {num_words}, {dim}, {hidden} must be "
                             "positive.")
        self.image = image
        self.text = nn.Sequential(nn.EmbeddingBag(num_words, hidden),
                                  head(hidden, hidden, dim))
        self.t = nn.Parameter(torch.tensor(math.log(10.0)))
        self.b = None if bias is None else nn.Parameter(
            torch.tensor(float(bias)))

    def forward(self, X):
        return F.normalize(self.image(X), dim=1)  # (n, dim)

    def embed_text(self, T):
        return F.normalize(self.text(T), dim=1)  # (m, dim)

    def logits(self, f, g):
        z = self.t.exp() * f @ g.T  # (n, m)
        return z if self.b is None else z + self.b
