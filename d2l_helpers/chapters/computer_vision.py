"""Chapter 14, Computer vision: what its sections teach and later ones use.

Generated from book/14-computer-vision/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import csv
import d2l_helpers as d2l
import matplotlib.pyplot as plt
import numpy as np
import random
import torch
from contextlib import contextmanager
from d2l_helpers.pictures import read_images
from pathlib import Path
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
def train_ch14(net, train, test, loss, optimizer, epochs, device=None,
               batch_size=100, augment=None, score=accuracy,
               set_mode=nn.Module.train, after_step=None, seed=0,
               schedule=None):
    """Train under a one-cycle schedule: the loop of Chapter 14.

    `train` and `test` (or None) are tuples of tensors: inputs, targets.
    `loss(net(X), *y)` is a mean. The rates of the optimizer's groups are
    the peaks of the cycle, which has one step for each batch; momentum
    stays. `augment(X, *y, generator=g)` changes training batches only;
    `set_mode(net)` runs before each epoch, `after_step(net)` after each
    update. `seed` fixes the order, the changes, and dropout by PyTorch's
    global generator. Returns a dict of lists, one number for each epoch:
    "loss" and, with a `score`, "train" (on batches as they were trained
    on) and "test". Afterwards the groups have their rates again.
    Another schedule than one-cycle: `schedule(step)`, the factor of the
    rates at step 0, 1, ...
    """
    device = device or d2l.try_device()
    net.to(device)
    train = [tensor.to(device) for tensor in train]
    test = [tensor.to(device) for tensor in test or ()]
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    noise = torch.Generator().manual_seed(seed + 1_000_000)
    loader = d2l.BatchLoader(train, batch_size, True, order)
    peaks = [group["lr"] for group in optimizer.param_groups]
    if schedule is None:
        rates = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, peaks, epochs * len(loader), cycle_momentum=False)
    else:
        for group, peak in zip(optimizer.param_groups, peaks):
            group["initial_lr"] = peak  # not that of an earlier training
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    history = {"loss": [], "train": [], "test": []}
    for _ in range(epochs):
        set_mode(net)
        losses, scores = [], []
        for X, *y in loader:
            if augment is not None:
                X, *y = augment(X, *y, generator=noise)
            y_hat = net(X)
            value = loss(y_hat, *y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            rates.step()
            losses.append(value.detach() * len(X))
            if score is not None:
                scores.append(score(y_hat.detach(), *y))
            if after_step is not None:
                after_step(net)
        history["loss"].append(
            (torch.stack(losses).sum() / len(train[0])).item())
        if score is not None:
            history["train"].append(torch.cat(scores).mean().item())
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
