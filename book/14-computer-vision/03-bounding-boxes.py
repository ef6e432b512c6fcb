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
# # 14.3 Object detection and bounding boxes
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
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["export"]
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


# %% tags=["export"]
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


# %% tags=["export"]
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

# %% tags=["export"]
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

# %% tags=["export"]
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

# %% tags=["export"]
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

# %% tags=["export"]
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

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %%
# check 14.3-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.3-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.3-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.3-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.3-C5: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.3-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.3-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.3-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.3-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.3-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.3-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.3-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.3-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
