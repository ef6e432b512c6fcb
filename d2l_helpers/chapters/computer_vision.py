"""Chapter 14, Computer vision: what its sections teach and later ones use.

Generated from book/14-computer-vision/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import matplotlib.pyplot as plt
import torch
from contextlib import contextmanager
from d2l_helpers.chapters.linear_classification import scale_bytes
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.pictures import ShapeScenes
from d2l_helpers.pictures import read_images
from functools import cached_property
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
