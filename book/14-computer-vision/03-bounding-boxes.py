# ---
# jupyter:
#   d2l:
#     data: [bccd]
#     profiles:
#       gpu: {}
#       smoke:
#         num_boxes: 50
#         num_scenes: 60
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
# A classifier says what a picture shows.
# A detector also says where, for each of several objects, and it says so with four numbers: a box.
# Four numbers look harmless, but at least four conventions compete for them, and code that mixes two of them often runs without an error, wrong by one pixel or by half a picture.
# This section fixes the convention of the chapter and tests its conversions on pixels.
#
# **You will**
#
# - read the labels of a detection set, and find out what their numbers mean;
# - convert between corner, center, COCO and YOLO boxes, in pixels and relative to the picture;
# - move boxes along when a picture is flipped, resized or cropped, and say when a cropped label is no longer true;
# - write tests that notice an error of one pixel, and name common tests that do not.
#
# **Cost**: under half a minute on a CPU, no GPU needed; a download of 9 MB, once.

# %%
import importlib.util
import json
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from torchvision import ops, tv_tensors
from torchvision.transforms.v2 import functional as TF

import d2l_helpers as d2l
from d2l_helpers.pictures import BananaLike, read_images

d2l.use_style()

# %% tags=["parameters"]
num_boxes = 1000  # random boxes in a test
num_scenes = 300  # drawn pictures with masks

# %% [markdown]
# ## What, and where
#
# *Object detection* takes a picture and returns a set of pairs: a class and a *bounding box*, an upright rectangle around the object.
# The smallest such rectangle touches the object on all four sides and is called *tight*.
# How many pairs there are depends on the picture, and their order means nothing.
# Both are new: a classifier's output has a fixed shape.
#
# Boxes are cheap: in one study, people who clicked on the four outermost points of an object needed 7 seconds for a tight box.
# The price is that a box says nothing about the shape inside: a disc fills $\pi/4\approx0.79$ of its box, a thin diagonal line almost nothing.
#
# Our data are 364 microscope pictures of blood, 640 by 480 pixels each, with a box around every red cell, white cell and platelet that the annotators marked.
# The labels come as XML in the format of the Pascal VOC challenge, one file per picture; an object looks like this:
#
# ```xml
# <object>
#     <name>RBC</name>
#     <truncated>0</truncated>
#     <bndbox><xmin>507</xmin><ymin>63</ymin><xmax>609</xmax><ymax>180</ymax></bndbox>
# </object>
# ```
#
# In VOC the top left pixel of a picture is $(1,1)$, and the pixel $(609,180)$ belongs to the box.
# This book counts from 0, so the function below converts once, on reading; the next part says to what.

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

# %% [markdown]
# The chapter draws its boxes with one function.

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

# %% tags=["hide-input"]
found = d2l.fetch("bccd")
folder = found.folder / "BCCD"
data = [item for split in ("train", "val", "test")
        for item in read_voc(folder, split)]
by_name = {path.stem: (path, labels) for path, labels in data}
COLORS = ("C0", "C1", "C3")


def picture(ax, name, size=(240, 320)):
    """Draw a small version, in the coordinates of the original."""
    image = read_images([by_name[name][0]], size)[0]
    image = image // 16 * 16 + 8  # 16 levels a colour: a smaller file
    ax.imshow(image.permute(1, 2, 0), extent=(0, 640, 480, 0),
              interpolation="nearest")
    ax.grid(False)


fig, ax = plt.subplots(figsize=(4.4, 3.3))
picture(ax, "BloodImage_00065")
kinds, boxes = by_name["BloodImage_00065"][1].split([1, 4], 1)
kinds = kinds[:, 0].long().tolist()
show_boxes(ax, boxes, [CELLS[k] for k in kinds], [COLORS[k] for k in kinds])
ax.set(xlabel="x in pixels", ylabel="y in pixels")
counts = Counter(CELLS[k] for k in kinds)
d2l.describe(ax, "A microscope picture with labelled boxes: " + ", ".join(
    f"{number} {name}" for name, number in counts.items()) + """. x runs to
    the right and y downwards, both from 0 at the top left corner.""")

# %% [markdown]
# **Figure 14.3.1.** Red cells (RBC), white cells (WBC) and platelets with their boxes.
# The origin is the top left corner, and $y$ points down.
# Some red cells have no box, and not every box is tight: labels are made by people.

# %% tags=["hide-input"]
# check: what the reader and the drawing promise
with tempfile.TemporaryDirectory() as place:
    for part in ("Annotations", "ImageSets/Main"):
        (Path(place) / part).mkdir(parents=True)
    (Path(place) / "ImageSets/Main/all.txt").write_text("one\nnone\n")
    item = ("<object><name>{}</name><bndbox><xmax>8</xmax><xmin>3</xmin>"
            "<ymin>1</ymin><ymax>1</ymax></bndbox></object>")
    for name, content in (("none", ""), ("one", item.format("WBC"))):
        (Path(place) / f"Annotations/{name}.xml").write_text(
            f"<annotation>{content}</annotation>")
    (path, one), (_, none) = read_voc(place, "all")
    assert path == Path(place) / "JPEGImages/one.jpg"
    assert one.tolist() == [[1, 2, 0, 8, 1]] and none.shape == (0, 5)
    assert one.dtype == none.dtype == torch.float32
    assert read_voc(place, "all", ("WBC",))[0][1][0, 0] == 0
    (Path(place) / "Annotations/one.xml").write_text(
        f"<annotation>{item.format('cat')}</annotation>")
    try:
        read_voc(place, "all")
        raise AssertionError("an unknown class was accepted")
    except ValueError as error:
        assert "cat" in str(error) and "one.xml" in str(error)
if found.is_real:  # the object in the text
    assert any([0, 506, 62, 609, 180] in rows.tolist() for _, rows in data)
    assert [1, 403, 106, 538, 224] in by_name[
        "BloodImage_00065"][1].tolist()  # the one in Figure 14.3.4

# %% tags=["hide-input"]
fig, ax = plt.subplots()
ax.set(xlim=(0, 100), ylim=(50, 0))
show_boxes(ax, [[1, 2, 5, 4], [10, 20, 60, 45]], ["top", "low"], ["C0", "C3"])
assert [p.get_bbox().bounds for p in ax.patches] == [
    (1, 2, 4, 2), (10, 20, 50, 25)]
assert [t.get_va() for t in ax.texts] == ["top", "bottom"]
assert [t.get_position() for t in ax.texts] == [(1, 2), (10, 20)]
assert ax.patches[0].get_edgecolor() != ax.patches[1].get_edgecolor()
try:
    show_boxes(ax, torch.rand(2, 4), ["only one"])
    raise AssertionError("two boxes with one text were accepted")
except ValueError:
    plt.close(fig)

# %% [markdown]
# ## Edges, not pixels
#
# A picture is an array of shape $(3,H,W)$, with the row first, while a box names $x$ first.
# A pixel is a little square: the one in row $i$ and column $j$ covers $j\le x<j+1$ and $i\le y<i+1$.
# The four numbers of our boxes are positions of edges between pixels, not the indices of pixels.
# If they are whole, the box $(x_1,y_1,x_2,y_2)$ holds the pixels
#
# $$x_1\le j<x_2,\qquad y_1\le i<y_2, \tag{14.3.1}$$
#
# $(x_2-x_1)(y_2-y_1)$ of them, where $j$ is the column and $i$ the row, both from 0.
# Intervals of this kind, which contain their first number but not their last, are *half-open*, as Python's slices are.
# The object is `image[:, y1:y2, x1:x2]`, and two boxes that share an edge share no pixel.
# VOC's numbers become
#
# $$x_1=x_\mathrm{min}-1,\quad y_1=y_\mathrm{min}-1,\quad x_2=x_\mathrm{max},\quad y_2=y_\mathrm{max}, \tag{14.3.2}$$
#
# where the left and top edges lose 1 because VOC counts from 1, and the right and bottom ones stay: they lose 1 for the counting and gain 1 for the edge behind the last pixel.
# The cell above, $(507,63,609,180)$ in VOC, is $(506,62,609,180)$ here, and 103 pixels wide.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.4, 2.9))
ax.set(xlim=(0, 10), ylim=(6, 0), xticks=range(11), yticks=range(7),
       xlabel="edges: x", ylabel="edges: y")
ax.grid(True, color="#bbbbbb")
ax.add_patch(plt.Rectangle((3, 1), 5, 3, color="C2", alpha=0.35))
show_boxes(ax, [[3, 1, 8, 4]])
for j in range(10):
    ax.text(j + 0.5, 0.5, j, ha="center", va="center", color="C0", size=8)
for i in range(1, 6):
    ax.text(0.5, i + 0.5, i, ha="center", va="center", color="C0", size=8)
for x, y, text, ha in ((3, 1, "(3, 1)", "right"), (8, 4, "(8, 4)", "left")):
    ax.plot(x, y, "o", color="C1")
    ax.text(x + (0.15 if ha == "left" else -0.15), y + 0.1, text, ha=ha,
            va="top", size=9)
ax.set_aspect("equal")
d2l.describe(ax, """A grid of 10 by 6 pixels whose edges are numbered 0 to 10
    and 0 to 6 outside, and whose pixels 0 to 9 and 0 to 5 inside. The box
    with the corners (3, 1) and (8, 4) covers the pixel columns 3 to 7 and
    the rows 1 to 3.""")

# %% [markdown]
# **Figure 14.3.2.** Edges have the numbers outside, pixels the blue ones inside.
# The box $(3,1,8,4)$ covers columns 3 to 7 and rows 1 to 3.

# %%
def cut(image, box):
    """The pixels of a box: image (..., H, W), four whole numbers."""
    x1, y1, x2, y2 = map(int, box)
    return image[..., y1:y2, x1:x2]


grid = torch.arange(60).reshape(6, 10)  # pixel (i, j) holds 10 i + j
print(cut(grid, (3, 1, 8, 4)))  # (3, 5)
assert cut(grid, (3, 1, 8, 4)).shape == (3, 5)
assert cut(grid, (3, 1, 8, 4))[0, 0] == grid[1, 3] == 13
assert cut(grid, (3, 1, 8, 4))[-1, -1] == grid[3, 7] == 37

# %% [markdown]
# `plt.imshow` follows another convention: it puts the centers of pixels at whole numbers, so its picture begins at $-0.5$, and a box drawn on it sits half a pixel too far right and down.
# With `extent=(0, width, height, 0)` the axes are edges, as in Figure 14.3.1.
#
# ## Corners, centers, relative numbers
#
# Corners are convenient for cutting and intersecting.
# Many networks predict a center and a size instead ([Section 14.4](04-anchor-boxes.ipynb)):
#
# $$c_x=\tfrac{x_1+x_2}2,\quad c_y=\tfrac{y_1+y_2}2,\quad w=x_2-x_1,\quad h=y_2-y_1, \tag{14.3.3}$$
#
# and back $x_1=c_x-\frac w2$, $x_2=c_x+\frac w2$, likewise for $y$; $(c_x,c_y)$ is the center, $w$ the width and $h$ the height, all numbers in the unit of the corners.
# The box $(60,45,378,516)$ has the center $(219,280.5)$ and the size $318\times471$.

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

# %%
# check 14.3-C1: there and back
generator = torch.Generator().manual_seed(0)
low = torch.randint(0, 500, (num_boxes, 2), generator=generator)
size = torch.randint(1, 140, (num_boxes, 2), generator=generator)
whole = torch.cat([low, low + size], 1)  # (n, 4), integers
assert torch.equal(box_center_to_corner(box_corner_to_center(whole)), whole)
a, b = torch.rand(2, num_boxes, 2, generator=generator)
random = torch.cat([a.minimum(b), a.maximum(b)], 1)  # (n, 4), in [0, 1]
for there, back in ((box_corner_to_center, box_center_to_corner),
                    (box_center_to_corner, box_corner_to_center)):
    torch.testing.assert_close(back(there(random)), random,
                               atol=1e-6, rtol=0)

# %%
# check 14.3-C2: two boxes by hand, and torchvision
pair = torch.tensor([[60.0, 45, 378, 516], [400, 112, 655, 493]])
center = box_corner_to_center(pair)
assert center.tolist() == [[219, 280.5, 318, 471], [527.5, 302.5, 255, 381]]
torch.testing.assert_close(
    box_corner_to_center(random),
    ops.box_convert(random, "xyxy", "cxcywh"), atol=1e-6, rtol=0)
torch.testing.assert_close(
    box_center_to_corner(random),
    ops.box_convert(random, "cxcywh", "xyxy"), atol=1e-6, rtol=0)

# %% [markdown]
# The round trip is a weak test: two functions that make matching mistakes pass it.
# Numbers worked out by hand reveal the mistake.

# %%
one = torch.tensor([0, 0, 1, 1])  # a width of x2 - x1 + 1, both ways
wrong_there = box_corner_to_center(random) + one
torch.testing.assert_close(box_center_to_corner(wrong_there - one), random,
                           atol=1e-6, rtol=0)
assert not torch.equal(box_corner_to_center(pair) + one, center)

# %% [markdown]
# *Relative coordinates* divide $x$ by the picture's width and $y$ by its height; they do not change when the picture is resized.
# A classic slip is the order: shapes say $(H,W)$, boxes say $(x,y)$.
# You will meet these four formats:
#
# | Name | Four numbers | Unit | Counted from | Found in |
# | --- | --- | --- | --- | --- |
# | corner | $x_1,y_1,x_2,y_2$ | pixels or relative | edge 0 | this chapter, torchvision |
# | VOC | $x_\mathrm{min},y_\mathrm{min},x_\mathrm{max},y_\mathrm{max}$ | pixels, the last one included | pixel 1 | XML files |
# | COCO | $x_1,y_1,w,h$ | pixels | edge 0 | JSON files |
# | YOLO | $c_x,c_y,w,h$ | relative | edge 0 | text files |

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.4))
for ax, name in zip(axes, ("corner", "COCO", "center, YOLO")):
    ax.set(xlim=(0, 10), ylim=(6, 0), title=name, xticks=[0, 10],
           yticks=[0, 6])
    ax.grid(False)
    ax.set_aspect("equal")
    show_boxes(ax, [[3, 1, 8, 4]], colors="C0")
    if name == "corner":
        points = ((3, 1, "$x_1,y_1$"), (8, 4, "$x_2,y_2$"))
    else:
        points = ((3, 1, "$x_1,y_1$"),) if name == "COCO" else (
            (5.5, 2.5, "$c_x,c_y$"),)
        for a, b, text, x, y in (((3, 4.7), (8, 4.7), "$w$", 5.5, 5.5),
                                 ((8.6, 1), (8.6, 4), "$h$", 9.3, 2.5)):
            ax.annotate("", a, b, arrowprops={"arrowstyle": "<->"})
            ax.text(x, y, text, ha="center", va="center")
    for x, y, text in points:
        ax.plot(x, y, "o", color="C1")
        ax.text(x, y + (0.85 if y > 3 or x == 5.5 else -0.2), text,
                ha="right" if y < 2 else "center",
                va="bottom" if y < 2 else "center")
d2l.describe(axes, """The same rectangle in three panels: given by two
    corners, by its top left corner with width and height, and by its center
    with width and height.""")

# %% [markdown]
# **Figure 14.3.3.** One box, written in three ways; VOC differs from the first only in how it counts.

# %% tags=["hide-input"]
small_photo = read_images([by_name["BloodImage_00065"][0]], (72, 96))[0]
small_photo = (small_photo // 32 * 32 + 16).permute(1, 2, 0)


def draw(fig, left, right, top):
    ax = fig.subplots()
    ax.imshow(small_photo, extent=(0, 640, 480, 0), interpolation="nearest")
    ax.set(xticks=[0, 640], yticks=[0, 480])
    ax.grid(False)
    box = torch.tensor([left, top, right, 224])
    show_boxes(ax, box)
    cx, cy, w, h = box_corner_to_center(box).tolist()
    x1, y1, x2, y2 = box.tolist()
    ax.set_title(
        f"corner  {x1:g}, {y1:g}, {x2:g}, {y2:g}\n"
        f"VOC  {x1 + 1:g}, {y1 + 1:g}, {x2:g}, {y2:g}\n"
        f"COCO  {x1:g}, {y1:g}, {w:g}, {h:g}\n"
        f"YOLO  {cx / 640:.3f}, {cy / 480:.3f}, {w / 640:.3f}, "
        f"{h / 480:.3f}", fontsize=8)


d2l.sliders(draw, """The picture of the first figure with one box near a white
    cell; above it the box's four numbers as corners, in VOC, in COCO and in
    YOLO format. Sliders move its left, right and top edge.""",
            figsize=(2.5, 2.5), left=[243, 323, 403, 443],
            right=[498, 538, 640], top=[16, 106, 146])

# %% [markdown]
# **Figure 14.3.4.** Move three edges of the box and read its numbers in four formats; at 403, 538 and 106 it is the box of the label, a few pixels larger than the cell.
# The left edge changes one number of the corners and of VOC, two of COCO and two of YOLO; the right edge changes one of COCO.
#
# How many digits does a box need?
# The type `bfloat16` of mixed precision ([Section 13.4](../13-computational-performance/04-hardware.ipynb)) has 8 significant bits, so between 512 and 1024 it represents only every fourth whole number; `float16` has 11 and represents all of them.

# %%
labels = torch.cat([labels for _, labels in data])  # (4888, 5)
all_kinds, all_boxes = labels[:, 0].long(), labels[:, 1:]
size = all_boxes.new_tensor([640, 480, 640, 480])
relative, worst = all_boxes / size, {}
for dtype in (torch.float16, torch.bfloat16):
    worst[dtype] = [
        (all_boxes.to(dtype).float() - all_boxes).abs().max().item(),
        ((relative.to(dtype).float() - relative).abs() * size).max().item()]
    print(f"{str(dtype)[6:]:9s} largest rounding error in pixels: "
          f"{worst[dtype][0]:.2f} stored in pixels, "
          f"{worst[dtype][1]:.2f} stored as relative numbers")
assert worst[torch.float16][0] == 0 and worst[torch.bfloat16][0] == 2
assert 0 < 4 * worst[torch.float16][1] < worst[torch.bfloat16][1]
known = torch.arange(512, 1024).to(torch.bfloat16).unique()
assert known.diff().eq(4).all()  # every fourth whole number
wide = all_boxes[:, 2] - all_boxes[:, 0]
rounded = all_boxes.to(torch.bfloat16)
off = ((rounded[:, 2] - rounded[:, 0]).float() - wide).abs().max().item()
print(f"width of boxes stored in bfloat16 pixels: off by up to {off:g}")
assert off > worst[torch.bfloat16][0]

# %% [markdown]
# A width is a difference of two such numbers, and both errors go into it.
# This book therefore keeps boxes, and what it computes from them, in `float32` even where a network runs in fewer bits.
#
# ## An audit
#
# A label file does not say which convention its numbers follow, nor whether they make sense.
# Before training, look at all of them.
# A *degenerate box* has swapped corners, no area, or a NaN.
# It must go before something takes the logarithm of its width ([Section 14.4](04-anchor-boxes.ipynb)) or divides by its area.

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

# %% tags=["hide-input"]
# check: areas, and the options of the validator
assert box_area(torch.tensor([[1.0, 2, 4, 6], [4, 6, 1, 2]])).tolist() == [
    12, 0]  # two negative sides have no positive area
sides = torch.tensor([[0, 0, 2, 3], [0, 0, 3, 2], [-1, 0, 3, 3.0],
                      [0, -1, 3, 3], [0, 0, 5, 3], [0, 0, 3, 5]])
assert valid_boxes(sides, min_side=3).tolist() == [False] * 2 + [True] * 4
assert valid_boxes(sides, inside=(0, 0, 4, 4)).tolist() == [
    True, True, False, False, False, False]
assert valid_boxes(sides, inside=(0, 0, 3, 3)).tolist()[:2] == [True, True]
assert valid_boxes(sides.reshape(2, 3, 4)).shape == (2, 3)

# %%
# check 14.3-C5: bad boxes are refused, stray clicks found
bad = torch.tensor([[5.0, 5, 5, 9], [5, 5, 9, 5], [9, 5, 5, 9], [5, 9, 9, 5],
                    [9, 9, 5, 5], [torch.nan, 5, 9, 9], [5, 5, 9, torch.nan],
                    [5, 5, torch.inf, 9], [-torch.inf, 5, 9, 9]])
assert not valid_boxes(bad).any()
assert valid_boxes(torch.tensor([[5, 5, 6, 6]])).all()  # one pixel
assert valid_boxes(all_boxes, inside=(0, 0, 640, 480)).all()
small = ~valid_boxes(all_boxes, min_side=2)
names = [path.stem for path, labels in data for _ in labels]
clicks = {name for name, flag in zip(names, small) if flag}
if found.is_real:
    assert len(all_boxes) == 4888 and small.sum() == 2
    assert clicks == {"BloodImage_00338", "BloodImage_00343"}
    assert (all_boxes[small, 2:] - all_boxes[small, :2] == 1).all()
    assert (all_kinds[small] == CELLS.index("RBC")).all()

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), width_ratios=[1.35, 1])
width, height = (all_boxes[:, 2:] - all_boxes[:, :2]).T
for k, (name, marker) in enumerate(zip(CELLS, "o^s")):
    mine = (all_kinds == k) & ~small
    axes[0].scatter(width[mine], height[mine], s=5, alpha=0.4, label=name,
                    color=COLORS[k], marker=marker, linewidths=0)
lines = [20, 50, 100, 200, 400]
axes[0].set(xscale="log", yscale="log", xlabel="width in pixels",
            ylabel="height in pixels", xlim=(18, 450), ylim=(18, 450))
for axis in (axes[0].xaxis, axes[0].yaxis):
    axis.set_ticks(lines, lines)
    axis.set_ticks([], minor=True)
axes[0].legend(markerscale=2)
path, labels = by_name["BloodImage_00338"]
image = read_images([path])[0][:, 256:416, 423:583] // 16 * 16 + 8
axes[1].imshow(image.permute(1, 2, 0), extent=(423, 583, 416, 256),
               interpolation="nearest")
axes[1].grid(False)
axes[1].set(xticks=[423, 583], yticks=[256, 416], xlabel="x in pixels",
            ylabel="y in pixels")
click = labels[~valid_boxes(labels[:, 1:], min_side=2), 1:]
axes[1].scatter(*click[:, :2].T, s=150, facecolors="none", edgecolors="C1")
show_boxes(axes[1], click)
d2l.describe(axes, f"""Left, height against width of the boxes on logarithmic
    axes: red cells form a cloud around 100 pixels, white cells one around
    200 and platelets one around 40, all near the diagonal; {small.sum()}
    boxes of one pixel are left out. Right, a part of a picture with a circle
    around such a box, a dot on empty ground between cells.""")

# %% [markdown]
# **Figure 14.3.5.** Left, the sizes of the boxes: three clouds near the diagonal.
# Two boxes are far outside this panel: they measure one pixel.
# Right, one of them, circled: a red cell by its label, but there is no cell; it looks like a click without a drag.

# %% [markdown]
# Is (14.3.2) right for these files?
# The numbers run from 1 to 640 and to 480, without a 0, as in VOC.
# But one field tells more: `truncated`, which should mean that a good part of the object lies outside its box.

# %%
flags, first, last = Counter(), [], []
for path, _ in data:
    xml = ElementTree.parse(folder / "Annotations" / f"{path.stem}.xml")
    for item in xml.iter("object"):
        x1, y1, x2, y2 = (int(item.findtext(f"bndbox/{key}")) for key in
                          ("xmin", "ymin", "xmax", "ymax"))
        border = x1 == 1 or y1 == 1 or x2 == 640 or y2 == 480
        flags["touches the border" if border else "inside",
              item.findtext("truncated")] += 1
        first += [x1, y1]
        last += [x2 - 640, y2 - 480]
for (where, flag), number in sorted(flags.items()):
    print(f"{where:18s} truncated = {flag}: {number:5d} boxes")
print("smallest number", min(first), "- largest", max(last), "below the size")
if found.is_real:
    assert set(flags) == {("touches the border", "1"), ("inside", "0")}
    assert min(first) == 1 and max(last) == 0

# %% [markdown]
# The flag follows from the numbers without an exception, which looks like the work of a program, not of a person who judges cells.
# The labelling tool LabelImg computes it by this very rule.
# LabelImg stores the corners of the rectangle that was drawn, which are positions, not indices of pixels; it drops their fractions and replaces a left or top edge below 1 by 1, because zeros had broken a training program.
# If it wrote these files, the left edge of a box away from the border is $x_\mathrm{min}$, not $x_\mathrm{min}-1$, and the two clicks are boxes without any width.
# The numbers alone do not settle the question.
# We follow the definition of the format, know that our boxes may begin one pixel early, and ask how much that is.

# %%
share = torch.zeros(2, 3)
for row, pixels in enumerate((1, 5)):  # in the original picture
    lost = 1 - (width - pixels) * (height - pixels) / (width * height)
    share[row] = torch.stack([lost[(all_kinds == k) & ~small].median()
                              for k in range(3)])
for k, name in enumerate(CELLS):
    print(f"{name:9s} shorter and narrower by 1 pixel: {share[0, k]:.1%}, "
          f"by 5 pixels: {share[1, k]:.1%} of the area (medians)")
assert share[0, 2] > 2 * share[0, 0] > 2 * share[0, 1] > 0

# %% [markdown]
# Two per cent of a red cell's area, five of a platelet's: the same direction for every box, and more for smaller objects.
# If a picture is shrunk by a factor of five before somebody subtracts the 1, that pixel is worth five of the original, and the median platelet loses more than a fifth of its area.
# Large libraries have had to live with such things: Detectron computed widths as $x_2-x_1+1$, Detectron2 dropped the $+1$, and its documentation lists this among the reasons why the same weights give different results in the two.

# %%
if found.is_real:
    assert 0.015 < share[0, 0] < 0.025 and 0.045 < share[0, 2] < 0.055
    assert 0.2 < share[1, 2] < 0.25

# %% [markdown]
# ## Boxes move with their picture
#
# An augmentation of [Section 14.1](01-augmentation.ipynb) that moves pixels must move the boxes too.
# A flip sends the edge at $x$ to $W-x$, and the right edge becomes the left one:
#
# $$x_1'=W-x_2,\qquad x_2'=W-x_1, \tag{14.3.4}$$
#
# where $W$ is the picture's width, a number in the unit of the box, and the prime marks the new box; $y_1$ and $y_2$ stay.
# In a picture 12 wide, $(2,1,6,6)$ becomes $(6,1,10,6)$.
# The pixel in column $j$ goes to column $W-1-j$, because its right edge $j+1$ becomes its left.
# Applied to edges, this second rule is wrong.
#
# Resizing by a factor $s$ multiplies edges by $s$; the index of the last pixel, $x_2-1$, would have to become $s\,x_2-1$ instead.
# This holds if resizing maps the picture's edges to edges, as linear interpolation in torchvision and `F.interpolate` does by default.
# `align_corners=True` maps the centers of the outermost pixels to such centers, and what it draws misses the box by up to $\frac{|s-1|}2$ new pixels.

# %% tags=["export"]
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

# %% tags=["hide-input"]
def wrong_flip(boxes, width):
    """The rule for pixels, applied to edges."""
    return flip_boxes(boxes, width - 1)


letter = torch.zeros(7, 12)
letter[1:6, 2] = letter[1, 2:6] = letter[3, 2:5] = 1  # an F
box = torch.tensor([[2.0, 1, 6, 6]])
fig, axes = plt.subplots(1, 3, figsize=(7.2, 1.9))
for ax, image, shown, title in zip(
        axes, (letter, letter.flip(1), letter.flip(1)),
        (box, flip_boxes(box, 12), wrong_flip(box, 12)),
        ("picture", "$W-x$", "$W-1-x$")):
    ax.imshow(image, extent=(0, 12, 7, 0), cmap="Blues", vmax=1.6)
    ax.set(xticks=range(0, 13, 2), yticks=[0, 7], title=title)
    show_boxes(ax, shown)
d2l.describe(axes, """A letter F of pixels in its tight box; mirrored, with the
    box moved by the rule for edges, tight again; and with the box moved by
    the rule for pixels, one column too far left, so that the right column
    of the letter is outside.""")

# %% [markdown]
# **Figure 14.3.6.** A letter with its box; mirrored, with the box moved by the rule for edges; and by the rule for pixels, one column too far to the left.
#
# Three tests that come to mind miss the error: the wrong rule applied twice gives the box back, it keeps width and height, and it leaves a box that does not touch the right border inside the picture.
# Pixels reveal it.
# Cutting out the object and mirroring it must give the same as mirroring the picture and cutting out the object.

# %%
# check 14.3-C3: flip and cut commute, for every box of a picture
path, labels = by_name["BloodImage_00065"]
image, boxes = read_images([path])[0], labels[:, 1:]  # (3, 480, 640)
mirror = image.flip(-1)
for before, after in zip(boxes, flip_boxes(boxes, 640)):
    assert torch.equal(cut(mirror, after), cut(image, before).flip(-1))
boxes = boxes[valid_boxes(boxes, inside=(1, 0, 639, 480))]
wrong = wrong_flip(boxes, 640)
assert torch.equal(wrong_flip(wrong, 640), boxes) and len(boxes) > 2
assert torch.equal(wrong[:, 2:] - wrong[:, :2], boxes[:, 2:] - boxes[:, :2])
assert valid_boxes(wrong, inside=(0, 0, 640, 480)).all()
for before, after in zip(boxes, wrong):
    assert not torch.equal(cut(mirror, after), cut(image, before).flip(-1))
    beside = before + torch.tensor([1, 0, 1, 0])  # one column further
    assert torch.equal(cut(mirror, after), cut(image, beside).flip(-1))

# %%
# stretched, twice in x and three times in y; relative boxes
big = letter.repeat_interleave(3, 0).repeat_interleave(2, 1)  # (21, 24)
after = resize_boxes(box, 2, 3)[0]
assert torch.equal(cut(big, after), cut(letter, box[0]).repeat_interleave(
    3, 0).repeat_interleave(2, 1))
torch.testing.assert_close(flip_boxes(torch.tensor([0.1, 0.2, 0.4, 0.9])),
                           torch.tensor([0.6, 0.2, 0.9, 0.9]))
torch.testing.assert_close(
    flip_boxes(resize_boxes(box, 1 / 12, 1 / 7)),
    resize_boxes(flip_boxes(box, 12), 1 / 12, 1 / 7))

# %% tags=["hide-input"]
ramp = torch.arange(12) + 0.5  # each pixel holds the place of its center
for align in (False, True):  # where a picture three times as large shows it
    seen = F.interpolate(ramp[None, None], 36, mode="linear",
                         align_corners=align)[0, 0]
    miss = (3 * seen - (torch.arange(36) + 0.5))[1:-1]
    expected = torch.linspace(1, -1, 36)[1:-1] if align else 0 * miss
    torch.testing.assert_close(miss, expected, atol=1e-5, rtol=0)

# %% [markdown]
# ### What a validator sees
#
# `valid_boxes` with the picture as limit is cheap and can run in every training run.
# We let it judge six slips, each applied to all labels of the set.

# %%
x1, y1, x2, y2 = all_boxes.T
slips = {
    "divided by (H, W), not (W, H)": resize_boxes(
        all_boxes, 640 / 480, 480 / 640),
    "x and y exchanged": torch.stack([y1, x1, y2, x2], 1),
    "COCO's taken for corners": torch.stack([x1, y1, x2 - x1, y2 - y1], 1),
    "corners taken for COCO's": torch.stack([x1, y1, x1 + x2, y1 + y2], 1),
    "flipped by W - 1 - x": wrong_flip(all_boxes, 640),
    "VOC's not converted": torch.stack([x1 + 1, y1 + 1, x2, y2], 1)}
refused = {}
for name, boxes in slips.items():
    good = valid_boxes(boxes, inside=(0, 0, 640, 480))
    pictures = [bool(part.all()) for part in
                good.split([len(labels) for _, labels in data])]
    refused[name] = 1 - good.float().mean().item()
    print(f"{name:30s} refused: {refused[name]:6.2%} of the boxes, some in "
          f"{1 - sum(pictures) / len(pictures):4.0%} of the pictures")
    gross = name in list(slips)[:4]
    assert (sum(pictures) < 0.1 * len(pictures)) == gross
    if name in list(slips)[:2]:
        assert torch.equal(good, x2 <= 480)
    elif not gross:
        assert torch.equal(good, x2 < 640 if "flip" in name else ~small)
*gross, flipped, counted = refused.values()
assert min(gross) > 0.15 > flipped >= counted
if found.is_real:
    assert 0.03 < flipped < 0.07 and abs(counted * 4888 - 2) < 0.1

# %% [markdown]
# The first four slips show up in more than nine pictures of ten, the first two in the same boxes, those that end beyond $x=480$.
# The errors of one pixel show up only where a box touches the right border or has no pixel to lose; a loader that silently drops such rows hides the error in all the others.
# So count what a validator removes, and test geometry on pixels.
#
# Where the pixels of an object are known, they test its box directly.
# A *mask* is an array of the picture's height and width that is true on the object.
# torchvision's `masks_to_boxes` returns the index of the last pixel, so its $x_2-x_1$ is one less than ours, and 0 for a mask of one column.
# `BananaLike` draws crescents, one per picture, with exact masks.

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

# %%
# check 14.3-C4: tight boxes, torchvision's convention, and flips of masks
scenes = BananaLike(num_scenes, seed=0)
masks, tight = scenes.masks, mask_boxes(scenes.masks)
assert torch.equal(tight, ops.masks_to_boxes(masks)
                   + torch.tensor([0, 0, 1, 1]))
torch.testing.assert_close(resize_boxes(scenes.boxes, 64, 64), tight)
assert torch.equal(mask_boxes(masks.flip(-1)), flip_boxes(tight, 64))
assert not torch.equal(mask_boxes(masks.flip(-1)), wrong_flip(tight, 64))
wide = torch.zeros(2, 4, 9)
wide[0, 2, 5] = 3  # any number but 0 counts
assert mask_boxes(wide).tolist()[0] == [5, 2, 6, 3]
assert valid_boxes(mask_boxes(wide)).tolist() == [True, False]
filled = masks.sum((1, 2)) / box_area(tight)
print(f"a crescent fills {filled.mean():.0%} of its box on average")
assert 0.2 < filled.mean() < 0.5

# %% [markdown]
# ### Crops
#
# A crop to a rectangle shifts the boxes, *clips* those that stick out to the part inside, and removes some.
# With $B$ the box, $R$ the rectangle and $|\cdot|$ the area, a box keeps the *visible share*
#
# $$v=\frac{|B\cap R|}{|B|}\in[0,1]. \tag{14.3.5}$$
#
# For $B=(0,1,4,3)$ and $R=(2,1,8,5)$ the common part is $(2,1,4,3)$, and $v=\frac48$.
# Boxes with $v=0$ are outside and must go; those with $v=1$ stay.
# In between, part of the object may be missing, and you decide how much may be missing before the label goes.
# Clipping a detector's predictions to the picture is the same operation, with $R$ the whole picture.

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

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), width_ratios=[1.25, 1])
name, rect = "BloodImage_00148", (200, 80, 520, 360)
for ax in axes:
    picture(ax, name, (180, 240))
    ax.set(xticks=[], yticks=[])
axes[1].set(xlim=rect[::2], ylim=rect[3::-2])
labels = by_name[name][1]
show_boxes(axes[0], labels[:, 1:], colors="C0")
show_boxes(axes[0], rect, colors="black")
every, some = crop_boxes(labels[:, 1:], rect)
large, _ = crop_boxes(labels[:, 1:], rect, 0.25)
shares = box_area(every) / box_area(labels[some, 1:])
shown = every + torch.tensor([rect[0], rect[1]] * 2)
show_boxes(axes[1], shown, [f"{v:.2f}" for v in shares],
           ["C0" if v >= 0.25 else "C1" for v in shares])
d2l.describe(axes, f"""Left a picture with {len(labels)} boxes and the outline
    of a crop. Right the crop with the {len(every)} boxes that reach into it,
    clipped, each with its visible share; {len(every) - len(large)} below a
    quarter are orange.""")

# %% [markdown]
# **Figure 14.3.7.** A crop (black), and what it leaves of the boxes, with the visible share of each.
# `min_visible=0.25` removes the orange ones.

# %%
rect = (2.0, 1, 8, 5)
several = torch.tensor([[3.0, 2, 5, 4], [0, 1, 4, 3], [7, 4, 9, 6],
                        [8, 1, 9, 5], [9, 9, 12, 12], [5, 4, 3, 2]])
kept, which = crop_boxes(several, rect)
assert kept.tolist() == [[1, 1, 3, 3], [0, 0, 2, 2], [5, 3, 6, 4]]
assert which.tolist() == [True] * 3 + [False] * 3  # outside, or no box
for least, number in ((0.25, 3), (0.26, 2), (0.5, 2), (0.51, 1), (1, 1)):
    kept, which = crop_boxes(several, rect, least)
    assert len(kept) == number and which.sum() == number
assert crop_boxes(several[:0], rect)[0].shape == (0, 4)
for empty in ((3, 1, 3, 5), (2, 5, 8, 5)):
    try:
        crop_boxes(several, empty)
        raise AssertionError("an empty rectangle was accepted")
    except ValueError as error:
        print("ValueError:", error)

# %% [markdown]
# A clipped box is not always tight, and can even hold no pixel of its object, as when a crop keeps only the empty corner of a crescent's box.
# Exercise 3 counts how often.
#
# torchvision's transforms move boxes along with their picture if they are told that the numbers are boxes.
# `tv_tensors.BoundingBoxes` is a tensor that carries its format and the size of its picture; a flip, crop or resize of the sample then applies to image, boxes and masks alike.
# A crop there clips and keeps boxes without area; `SanitizeBoundingBoxes` removes them afterwards, by side length and area, not by visible share.

# %%
typed = tv_tensors.BoundingBoxes(all_boxes, format="XYXY",
                                 canvas_size=(480, 640))  # (H, W)!
assert torch.equal(TF.horizontal_flip(typed), flip_boxes(all_boxes, 640))
torch.testing.assert_close(TF.resize(typed, [240, 160]).as_subclass(
    torch.Tensor), resize_boxes(all_boxes, 0.25, 0.5))
clipped = TF.crop(typed, top=60, left=150, height=320, width=320)
kept, which = crop_boxes(all_boxes, (150, 60, 470, 380))
assert torch.equal(clipped[which], kept)
assert len(clipped) == len(all_boxes) and not box_area(clipped)[~which].any()
print(f"{which.sum()} of {len(which)} boxes reach into the crop")

# %% [markdown]
# ## Where boxes stand today
#
# This chapter stays with upright boxes.
# They fit badly where objects are long and turned, as in aerial pictures; *oriented boxes* add an angle or give four corners, and torchvision's transforms have supported them since version 0.23.
# Detectors with an open vocabulary, such as Grounding DINO, take a category name or a phrase instead of a class number, and still answer with four numbers per object.
# And what counts as the true box is a choice: the authors of one study outlined the objects of COCO's pictures anew, trained a model on each version, and concluded that the style of annotation matters.

# %% [markdown]
# ## Summary
#
# - Detection returns a set of classes with boxes; this chapter's boxes are $(x_1,y_1,x_2,y_2)$, edges counted from 0 at the top left, half-open, so the width is $x_2-x_1$ and a slice cuts the object out.
# - VOC counts pixels from 1 and includes the last; COCO gives a corner and a size, YOLO a relative center and size: convert once, on reading.
# - Edges go to $W-x$ under a flip and are multiplied under a resize; indices of pixels follow other rules, one column away under a flip.
# - Round trips, widths and limits can miss an error of one pixel; cut-out pixels, masks and numbers worked out by hand can show it.
# - Look at all labels first: sizes, limits, and fields that a program may have filled in.
# - A crop shifts, clips and removes; the visible share of the box decides which labels stay, and only the mask says whether they are still true.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.3-1
#
# Batches of labels have the shape $(b,m,5)$: pictures with fewer than $m$ objects are filled up with rows of $-1$ ([Section 14.6](06-detection-data.ipynb)).
# Which functions of this section that take boxes accept the shape $(b,m,4)$?
# What does each make of the filling?
# Write `flip_labels(labels)` for such a batch in relative coordinates.

# %% [markdown]
# #### Solution 14.3-1

# %% [markdown]
# The conversions, `flip_boxes`, `resize_boxes`, `box_area` and `valid_boxes` work on the last axis and accept any axes before it.
# `show_boxes` accepts them too, but draws all pictures' boxes on one.
# `crop_boxes` does not: the pictures of a batch lose different numbers of boxes; `cut` takes one box.
#
# None of them knows what filling is.
# To center form it becomes $(-1,-1,0,0)$, from center form $(-0.5,-0.5,-1.5,-1.5)$, and only both in turn give it back.
# `flip_boxes` turns it into $(2,-1,2,-1)$ and `resize_boxes` into minus the two factors; neither looks like filling any more.
# So `flip_labels` leaves it alone.
# `box_area` gives 0, and `valid_boxes` refuses the filling and can serve as the mask of a batch.

# %%
def flip_labels(labels):
    """Mirror relative labels (b, m, 5); rows of class -1 stay."""
    moved = torch.cat([labels[..., :1], flip_boxes(labels[..., 1:])], -1)
    return torch.where(labels[..., :1] < 0, labels, moved)


singles = [item[1] for item in data[:8]]
batch = torch.full((8, max(map(len, singles)), 5), -1.0)
for row, single in zip(batch, singles):
    row[:len(single), 0] = single[:, 0]
    row[:len(single), 1:] = resize_boxes(single[:, 1:], 1 / 640, 1 / 480)
assert torch.equal(valid_boxes(batch[..., 1:]), batch[..., 0] >= 0)
turned = box_center_to_corner(box_corner_to_center(batch[..., 1:]))
torch.testing.assert_close(turned, batch[..., 1:])
filling = torch.full((2, 3, 4), -1.0)  # (b, m, 4)
for function, expected in (
        (box_corner_to_center, [-1, -1, 0, 0]),
        (box_center_to_corner, [-0.5, -0.5, -1.5, -1.5]),
        (flip_boxes, [2, -1, 2, -1]),
        (lambda boxes: resize_boxes(boxes, 64, 48), [-64, -48, -64, -48]),
        (box_area, 0)):
    assert (function(filling) == torch.tensor(expected)).all()
flipped = flip_labels(batch)
for old, new, single in zip(batch, flipped, singles):
    n = len(single)
    assert torch.equal(new[n:], old[n:]) and (new[n:] == -1).all()
    assert torch.equal(new[:n, 0], single[:, 0])
    torch.testing.assert_close(new[:n, 1:], resize_boxes(
        flip_boxes(single[:, 1:], 640), 1 / 640, 1 / 480))

# %% [markdown]
# ### Exercise 14.3-2
#
# `torch.rot90(image, 1, (-2, -1))` turns a picture by 90 degrees, counterclockwise as you see it.
# Write the rule for its boxes, and test it on pixels and by four turns.
# Can a rule for 45 degrees give the tight box of the turned object?

# %% [markdown]
# #### Solution 14.3-2

# %% [markdown]
# The top edge becomes the left one and the right edge the top: $(x,y)$ goes to $(y,W-x)$, and the new picture is $H$ wide and $W$ high.
# The box becomes $(y_1,W-x_2,y_2,W-x_1)$.
# In the second turn the original height takes the place of $W$.
#
# At 45 degrees the box alone does not determine the answer.
# The object is somewhere inside the turned rectangle, whose own bounding box has, for sides $w$ and $h$ and the angle $\theta$, the sides $w|\cos\theta|+h|\sin\theta|$ and $w|\sin\theta|+h|\cos\theta|$.
# For a square at 45 degrees its area is twice the square's, while the tight box of a disc in the square does not change.
# Augmenting with rotations other than quarter turns therefore needs masks or outlines, or accepts loose boxes.
#
# Photographs raise the same question: many cameras store the pixels unturned and a flag that tells how to turn them.
# A program that ignores the flag and one that obeys it need different boxes, so find out what the labelling tool did.

# %%
def turn_boxes(boxes, width):
    """Boxes after `torch.rot90(image, 1, (-2, -1))`; the old width."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([y1, width - x2, y2, width - x1], -1)


boxes, turned = by_name["BloodImage_00065"][1][:, 1:], image  # (3, 480, 640)
current = boxes
for quarter in range(1, 5):
    current = turn_boxes(current, turned.shape[-1])
    turned = torch.rot90(turned, 1, (-2, -1))
    for before, after in zip(boxes, current):
        assert torch.equal(cut(turned, after), torch.rot90(
            cut(image, before), quarter, (-2, -1)))
assert torch.equal(current, boxes)
angle = torch.arange(0, 6.2832, 0.001)
disc = torch.stack([angle.cos(), angle.sin()])  # (2, n), on its edge
square = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]])  # its corners
half = torch.tensor([[1.0, -1], [1, 1]]) / 2**0.5  # 45 degrees
areas = [((half @ points).amax(1) - (half @ points).amin(1)).prod().item()
         for points in (disc, square)]
assert abs(areas[0] - 4) < 1e-3 and abs(areas[1] - 8) < 1e-3
w, h = 5.0, 2.0
for theta in torch.linspace(0, 3, 7):
    c, s = theta.cos(), theta.sin()
    points = torch.stack([torch.stack([c, -s]), torch.stack([s, c])]) @ (
        square * torch.tensor([[w / 2], [h / 2]]))
    torch.testing.assert_close(
        points.amax(1) - points.amin(1), torch.stack([
            w * c.abs() + h * s.abs(), w * s.abs() + h * c.abs()]))

# %% [markdown]
# ### Exercise 14.3-3
#
# When does a crop make a label false?
# Crop each picture of `BananaLike` to a random quarter, and compare the visible share of the box, which `crop_boxes` uses, with that of the object, which the mask gives.
# Of the labels that stay, call those false of whose object less than 15 % is seen; of the objects that are more than half seen, call those lost whose label goes.
# How do the two shares depend on `min_visible`?
# How many clipped boxes are still tight?
# Which part of the answer is due to the shape?
# Compare with ellipses that touch the four sides of the same boxes, in the same crops.

# %% [markdown]
# #### Solution 14.3-3

# %% [markdown]
# The guidelines of VOC ask annotators to box the visible part, and not to label an object of which less than 10 to 20 % is seen.
# With a threshold of 0 every box that reaches into the crop stays, and more than a tenth of the labels are false; some show no pixel of their crescent.
# With a threshold of 0.5 none is false, but about a fifth of the crescents in plain view lose their label, and count as background from then on; with 0.75 more than half do.
# A threshold of 0.25 loses none and leaves some false labels, at most a tenth here.
#
# Ellipses keep and lose the same boxes, since boxes and crops are the same.
# At 0.25 none of their labels is false, and that is geometry: whatever rectangle a crop leaves of the box, if it has at least a quarter of the box's area, it holds at least $\frac13-\frac{\sqrt3}{4\pi}\approx0.196$ of the ellipse's.
# About one in ten of their clipped boxes is loose at 0.25, and about a third of those of the crescents.
# So the threshold that suits a data set depends on how its objects fill their boxes.

# %%
def ellipses(boxes, size):
    """Masks (n, size, size) of the ellipses that touch boxes (n, 4)."""
    cx, cy, w, h = box_corner_to_center(boxes)[..., None, None].unbind(1)
    place = torch.arange(size) + 0.5  # centers of pixels
    return (((place - cx) / (w / 2)).square()
            + ((place[:, None] - cy) / (h / 2)).square() <= 1)


def crop_study(masks, seed, thresholds=(0, 0.1, 0.25, 0.5, 0.75)):
    """Rows: threshold, shares false, lost and loose; labels of nothing."""
    n, boxes = len(masks), mask_boxes(masks)
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 33, (n, 2), generator=generator).tolist()
    of_box, of_object = torch.zeros(2, n)
    loose = torch.zeros(n, dtype=torch.bool)
    for i, (x, y) in enumerate(corners):
        clipped, kept = crop_boxes(boxes[i:i + 1], (x, y, x + 32, y + 32))
        part = masks[i, y:y + 32, x:x + 32]
        of_object[i] = part.sum() / masks[i].sum()
        if kept.any():
            of_box[i] = box_area(clipped)[0] / box_area(boxes[i])
            loose[i] = not torch.equal(mask_boxes(part[None]), clipped)
    rows = []
    for least in thresholds:
        kept = (of_box > 0) & (of_box >= least)
        rows.append([least, (of_object[kept] < 0.15).float().mean(),
                     (~kept[of_object > 0.5]).float().mean(),
                     loose[kept & (of_box < 1)].float().mean()])
    return torch.tensor(rows), ((of_box > 0) & (of_object == 0)).sum().item()

# %%
crescents = [BananaLike(num_scenes, seed=seed).masks for seed in range(3)]
filled = [ellipses(mask_boxes(masks), 64) for masks in crescents]
for some, others in zip(crescents, filled):
    assert torch.equal(mask_boxes(some), mask_boxes(others))
study = {name: [crop_study(masks, seed) for seed, masks in enumerate(sets)]
         for name, sets in (("crescents", crescents), ("ellipses", filled))}
for name, runs in study.items():
    print(f"{name:10s} false    lost   loose among the clipped")
    for row in torch.stack([table for table, _ in runs]).mean(0):
        print("{:10.2f} {:5.2f} {:7.2f} {:7.2f}".format(*row.tolist()))
    print("labels without a pixel of the object, at 0:",
          [empty for _, empty in runs])

# %%
if num_scenes >= 300:
    for (table, empty), (ellipse, _) in zip(*study.values()):  # three seeds
        _, false, lost, loose = table.T
        assert false[0] > 0.13 and ellipse[0, 1] > 0.1 and empty >= 2
        assert 0 < false[2] < 0.11 and lost[2] == 0 == ellipse[2, 2]
        assert false[3] == 0 and 0.14 < lost[3] < 0.27 and lost[4] > 0.5
        assert ellipse[2, 1] == 0 and 0.04 < ellipse[2, 3] < 0.14
        assert 0.28 < loose[2] < 0.39 and loose[0] > ellipse[0, 3] + 0.1
steps = torch.linspace(0, 1, 401)
place = (steps[1:] + steps[:-1]) / 2 - 0.5
inside = (place.square() + place[:, None].square() <= 0.25).double()
left = inside.cumsum(0).cumsum(1) / inside.sum()  # (x, y): lower left part
corner = steps[1:] * steps[1:, None]  # and its share of the box
least = left[corner >= 0.25 - 1e-6].min()
assert abs(least - (1 / 3 - 3**0.5 / 4 / torch.pi)) < 2e-3

# %% [markdown]
# ### Exercise 14.3-4
#
# Write all labels of the set as one JSON file in the format of COCO, read it back, and compare with the numbers in the XML files.
# COCO's file holds three lists of dictionaries: `images` (`id`, `file_name`, `width`, `height`), `annotations` (`id`, `image_id`, `category_id`, `bbox`, `area`, `iscrowd`) and `categories` (`id`, `name`).

# %% [markdown]
# #### Solution 14.3-4

# %% [markdown]
# A box in COCO is its top left corner and its size, counted from 0; no pixel is added or lost.
# The identifiers of categories can be any distinct numbers; like COCO itself, we count them from 1.
# In COCO's own files `area` is the area of the object's mask; without masks that of the box has to stand in.
# On the way back the XML's numbers are $x_1+1$, $y_1+1$, $x_2$ and $y_2$.
# Where the package `faster-coco-eval`, which [Section 14.6](06-detection-data.ipynb) uses, is installed, its loader reads the file too.

# %%
def to_coco(data, classes=CELLS, size=(640, 480)):
    """Labels as `read_voc` returns them -> a dictionary for COCO's JSON."""
    images, annotations = [], []
    for number, (path, labels) in enumerate(data, 1):
        images.append({"id": number, "file_name": path.name,
                       "width": size[0], "height": size[1]})
        for kind, x1, y1, x2, y2 in labels.tolist():
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({
                "id": len(annotations) + 1, "image_id": number,
                "category_id": int(kind) + 1, "bbox": box,
                "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": i, "name": name}
                  for i, name in enumerate(classes, 1)]
    return {"images": images, "annotations": annotations,
            "categories": categories}


def from_coco(coco):
    """A dictionary of file name -> [(class, xmin, ymin, xmax, ymax)]."""
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    names = {kind["id"]: kind["name"] for kind in coco["categories"]}
    rows = {name: [] for name in files.values()}
    for item in coco["annotations"]:
        x, y, w, h = item["bbox"]
        rows[files[item["image_id"]]].append(
            (names[item["category_id"]], x + 1, y + 1, x + w, y + h))
    return rows

# %%
text = json.dumps(to_coco(data))
coco = json.loads(text)
assert {(item["width"], item["height"]) for item in coco["images"]} == {
    tuple(read_images([data[0][0]]).shape[:1:-1])}
assert [item["area"] for item in coco["annotations"]] == box_area(
    all_boxes).tolist()
again = from_coco(coco)
assert len(again) == len(data) == 364
for path, _ in data:
    xml = ElementTree.parse(folder / "Annotations" / f"{path.stem}.xml")
    assert again[path.name] == [
        (item.findtext("name"), *(int(item.findtext(f"bndbox/{key}"))
                                  for key in ("xmin", "ymin", "xmax",
                                              "ymax")))
        for item in xml.iter("object")]
if importlib.util.find_spec("faster_coco_eval"):
    from faster_coco_eval import COCO

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "labels.json"
        file.write_text(text)
        loaded = COCO(str(file))
    assert len(loaded.getAnnIds()) == len(all_boxes)
    loaded = [item["bbox"] for item in loaded.loadAnns(loaded.getAnnIds())]
    corner = ops.box_convert(torch.tensor(loaded), "xywh", "xyxy")
    assert torch.equal(corner, all_boxes)

# %% [markdown]
# ## Sources
#
# - M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn and A. Zisserman (2010). The Pascal Visual Object Classes (VOC) challenge. International Journal of Computer Vision 88, [doi:10.1007/s11263-009-0275-4](https://doi.org/10.1007/s11263-009-0275-4): the challenge whose files became a format.
# - M. Everingham and J. Winn (2012). The PASCAL Visual Object Classes challenge 2012 development kit, [host.robots.ox.ac.uk](http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html): the top left pixel is $(1,1)$.
# - VOC2007 annotation guidelines, [host.robots.ox.ac.uk](http://host.robots.ox.ac.uk/pascal/VOC/voc2007/guidelines.html): box the visible area; what not to label.
# - D. P. Papadopoulos, J. R. R. Uijlings, F. Keller and V. Ferrari (2017). Extreme clicking for efficient object annotation, [arXiv:1708.02750](https://arxiv.org/abs/1708.02750): 7 seconds a box; drawing one for ImageNet had taken 35.
# - T.-Y. Lin et al. (2014). Microsoft COCO: common objects in context, [arXiv:1405.0312](https://arxiv.org/abs/1405.0312).
# - COCO, data format, [cocodataset.org](https://cocodataset.org/#format-data): boxes are counted from 0.
# - Ultralytics, object detection datasets, [docs.ultralytics.com](https://docs.ultralytics.com/datasets/detect/): the text files of YOLO.
# - S. Cheng, BCCD dataset, [github.com/Shenggan/BCCD_Dataset](https://github.com/Shenggan/BCCD_Dataset): the blood cells.
# - LabelImg, `libs/pascal_voc_io.py` and `libs/labelFile.py`, [github.com/HumanSignal/labelImg](https://github.com/HumanSignal/labelImg): how `truncated` is computed, and 0 replaced by 1.
# - Detectron2, compatibility with other libraries, [detectron2.readthedocs.io](https://detectron2.readthedocs.io/en/latest/notes/compatibility.html): the $+1$ and its end.
# - torchvision, `tv_tensors.BoundingBoxes`, [docs.pytorch.org](https://docs.pytorch.org/vision/stable/generated/torchvision.tv_tensors.BoundingBoxes.html): formats, oriented boxes since version 0.23.
# - G.-S. Xia et al. (2018). DOTA: a large-scale dataset for object detection in aerial images, [arXiv:1711.10398](https://arxiv.org/abs/1711.10398): objects outlined by quadrilaterals.
# - S. Liu et al. (2023). Grounding DINO: marrying DINO with grounded pre-training for open-set object detection, [arXiv:2303.05499](https://arxiv.org/abs/2303.05499).
# - E. Zimmermann, J. Szeto, J. Pasquero and F. Ratle (2023). Benchmarking a benchmark: how reliable is MS-COCO?, [arXiv:2311.02709](https://arxiv.org/abs/2311.02709): a second annotation, and a model trained on each.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the two boxes of C2.
