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
# Four numbers look harmless, but at least four conventions compete for them, and code that mixes two of them runs without an error and is wrong by one pixel or by half a picture.
# This section fixes the convention of the chapter and tests every conversion on pixels.
#
# **You will**
#
# - read the labels of a detection set, and find out what their numbers mean;
# - convert between corner, center, COCO and YOLO boxes, in pixels and relative to the picture;
# - move boxes along when a picture is flipped, resized or cropped, and say when a cropped label is no longer true;
# - write tests that see an error of one pixel, and know the popular ones that do not.
#
# **Cost**: some ten seconds on a CPU, no GPU needed; a download of 9 MB, once.

# %%
import importlib.util
import json
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import torch
from torchvision import ops, tv_tensors
from torchvision.transforms.v2 import functional as TF

import d2l_helpers as d2l
from d2l_helpers.pictures import BananaLike, ShapeImages, read_images

d2l.use_style()

# %% tags=["parameters"]
num_boxes = 1000  # random boxes in a test
num_scenes = 300  # drawn pictures with masks

# %% [markdown]
# ## What, and where
#
# *Object detection* takes a picture and returns a set of pairs: a class, and a *bounding box*, the smallest upright rectangle around the object.
# How many pairs there are depends on the picture, and their order means nothing.
# Both are new: a classifier's output has a fixed shape.
#
# Boxes are cheap: annotators of VOC's pictures needed 7 seconds for a tight one, by clicking on the four outermost points of the object, and four numbers hold it.
# The price is that it says nothing about the shape inside: a disc fills $\pi/4\approx0.79$ of its box, a thin diagonal line almost nothing.
#
# Our data are blood cells under a microscope: 364 pictures of 640 by 480 pixels, with a box for each of the red cells, white cells and platelets that the annotators marked.
# The labels come in the XML of the Pascal VOC challenge, one file for each picture; an object reads
#
# ```xml
# <object>
#     <name>RBC</name>
#     <truncated>0</truncated>
#     <bndbox><xmin>507</xmin><ymin>63</ymin><xmax>609</xmax><ymax>180</ymax></bndbox>
# </object>
# ```
#
# By the rules of VOC the top left pixel of a picture is $(1,1)$, and the pixel $(609,180)$ belongs to the box.
# This book counts from 0, so the reader below converts, once and for good; the next part says into what.

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
# A function that draws boxes on a picture will be used throughout the chapter.

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
    image = image // 8 * 8  # 32 levels a colour: a smaller file
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
# Some red cells have no box: people labelled this set, and they left gaps.

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
# The four numbers of our boxes are positions of edges between pixels, not numbers of pixels.
# With whole numbers the box $(x_1,y_1,x_2,y_2)$ holds the pixels
#
# $$x_1\le j<x_2,\qquad y_1\le i<y_2, \tag{14.3.1}$$
#
# $(x_2-x_1)(y_2-y_1)$ of them, where $j$ is the column and $i$ the row, both from 0.
# Intervals of this kind, with the first number in and the last one out, are called *half-open*; they are those of Python's slices.
# The object is `image[:, y1:y2, x1:x2]`, and two boxes that share an edge share no pixel.
# VOC's numbers become
#
# $$x_1=x_\mathrm{min}-1,\quad y_1=y_\mathrm{min}-1,\quad x_2=x_\mathrm{max},\quad y_2=y_\mathrm{max}, \tag{14.3.2}$$
#
# with both first numbers reduced, because VOC counts from 1, and the last ones unchanged: they lose 1 for the counting and gain 1 for the edge behind the last pixel.
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

# %% [markdown]
# `plt.imshow` follows another convention: it puts the centers of pixels at whole numbers, so its picture begins at $-0.5$, and a box drawn on it sits half a pixel too far right and down.
# With `extent=(0, width, height, 0)` the axes are edges, as in Figure 14.3.1.
#
# ## Corners, centers, relative numbers
#
# Corners are good for cutting and intersecting.
# Many networks predict a center and a size instead (Section 14.4):
#
# $$c_x=\tfrac{x_1+x_2}2,\quad c_y=\tfrac{y_1+y_2}2,\quad w=x_2-x_1,\quad h=y_2-y_1, \tag{14.3.3}$$
#
# and back $x_1=c_x-\frac w2$, $x_2=c_x+\frac w2$, likewise for $y$; all are numbers, in the unit of the corners.
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
# The round trip is a weak test: two functions that agree in a mistake pass it.
# Numbers worked out by hand see the mistake.

# %%
one = torch.tensor([0, 0, 1, 1])  # a width of x2 - x1 + 1, both ways
wrong_there = box_corner_to_center(random) + one
torch.testing.assert_close(box_center_to_corner(wrong_there - one), random,
                           atol=1e-6, rtol=0)
assert not torch.equal(box_corner_to_center(pair) + one, center)

# %% [markdown]
# *Relative coordinates* divide $x$ by the picture's width and $y$ by its height; they are the boxes of the picture resized to 1 by 1, so they stay when a picture is resized.
# The classic slip is the order: shapes say $(H,W)$, boxes say $(x,y)$.
# The four formats that you will meet most are these.
#
# | Name | Four numbers | Unit | Top left pixel | Found in |
# | --- | --- | --- | --- | --- |
# | corner | $x_1,y_1,x_2,y_2$ | pixels or relative | edge 0 | this chapter, torchvision |
# | VOC | $x_\mathrm{min},y_\mathrm{min},x_\mathrm{max},y_\mathrm{max}$ | pixels, the last included | pixel 1 | XML files |
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
# **Figure 14.3.3.** One box, three ways to write it down; VOC's differ from the first by its counting.

# %% tags=["hide-input"]
def draw(fig, x1, y1, x2, y2):
    ax = fig.subplots()
    ax.set(xlim=(0, 640), ylim=(480, 0), xticks=[0, 320, 640],
           yticks=[0, 240, 480])
    ax.set_aspect("equal")
    box = torch.tensor([x1, y1, x2, y2])
    show_boxes(ax, box)
    cx, cy, w, h = box_corner_to_center(box).tolist()
    ax.set_title(
        f"corner  {x1:g}, {y1:g}, {x2:g}, {y2:g}\n"
        f"VOC  {x1 + 1:g}, {y1 + 1:g}, {x2:g}, {y2:g}\n"
        f"COCO  {x1:g}, {y1:g}, {w:g}, {h:g}\n"
        f"YOLO  {cx / 640:.3f}, {cy / 480:.3f}, {w / 640:.3f}, "
        f"{h / 480:.3f}", fontsize=9)


d2l.sliders(draw, """A box in a picture of 640 by 480 pixels; above it its
    four numbers as corners, in VOC, in COCO and in YOLO format.""",
            figsize=(2.9, 2.8), x1=[40, 160, 280], y1=[60, 180],
            x2=[400, 600], y2=[300, 420])

# %% [markdown]
# **Figure 14.3.4.** Move the edges of the box and read its numbers in four formats.
#
# How many digits does a box need?
# The type `bfloat16` of mixed precision ([Section 13.4](../13-computational-performance/04-hardware.ipynb)) has 8 significant bits, so between 512 and 1024 it knows only every fourth whole number; `float16` has 11.

# %%
labels = torch.cat([labels for _, labels in data])  # (4888, 5)
all_kinds, all_boxes = labels[:, 0].long(), labels[:, 1:]
worst = {}
for dtype in (torch.float16, torch.bfloat16):
    relative = all_boxes / all_boxes.new_tensor([640, 480, 640, 480])
    worst[dtype] = [
        (all_boxes.to(dtype).float() - all_boxes).abs().max().item(),
        ((relative.to(dtype).float() - relative).abs().amax(0)[:2]
         * torch.tensor([640, 480])).max().item()]
    print(f"{str(dtype)[6:]:9s} largest rounding error in pixels: "
          f"{worst[dtype][0]:.2f} stored in pixels, "
          f"{worst[dtype][1]:.2f} stored as relative numbers")
assert worst[torch.float16][0] == 0 and worst[torch.bfloat16][0] >= 1
assert worst[torch.float16][1] < 0.2 < worst[torch.bfloat16][1]

# %% [markdown]
# So boxes, and what is computed from them, stay in `float32`, also where a network runs in fewer bits.
#
# ## An audit
#
# A label file does not say which convention its numbers follow, nor whether they make sense.
# Before training, look at all of them.
# A *degenerate box* is none at all: swapped corners, no area, or NaN.
# It must go before something takes the logarithm of its width (Section 14.4) or divides by its area.

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

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.6, 3.4))
width, height = (all_boxes[:, 2:] - all_boxes[:, :2]).T
for k, (name, marker) in enumerate(zip(CELLS, "o^s")):
    mine = (all_kinds == k) & ~small
    ax.scatter(width[mine], height[mine], s=5, alpha=0.4, color=COLORS[k],
               marker=marker, label=name, linewidths=0)
ax.scatter(width[small], height[small], s=60, marker="x", color="black",
           label="one pixel")
ax.set(xscale="log", yscale="log", xlabel="width in pixels",
       ylabel="height in pixels")
ax.legend(markerscale=1.5)
d2l.describe(ax, """Height against width of all boxes on logarithmic axes. Red
    cells form a cloud around 100 pixels, white cells one around 200 and
    platelets one around 40, all near the diagonal. Two boxes, marked by a
    cross at the same place, measure one pixel.""")

# %% [markdown]
# **Figure 14.3.5.** The sizes of all boxes.
# Three clouds near the diagonal, and far away from them two boxes of one pixel at the same place: somebody clicked and did not drag.

# %% [markdown]
# Is (14.3.2) right for these files?
# The numbers run from 1 to 640 and 480 and never reach 0, as VOC demands.
# But one field tells more: `truncated`, which should mean that the object continues outside its box.

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
# The flag follows from the numbers without an exception, so a program set it, not a person.
# The labelling tool LabelImg computes it by this very rule.
# LabelImg stores the corners of the rectangle that was drawn, which are positions, not numbers of pixels, and replaces anything below 1 by 1, because zeros had broken a training program.
# If it wrote these files, the left edge of a box away from the border is $x_\mathrm{min}$, not $x_\mathrm{min}-1$, and the two clicks are boxes without any width.
# The files do not settle the question.
# We follow the definition of the format, know that our boxes may begin one pixel early, and ask how much that is.

# %%
lost = 1 - (width - 1) * (height - 1) / (width * height)  # (4888,)
share = [lost[(all_kinds == k) & ~small].median().item() for k in range(3)]
for name, value in zip(CELLS, share):
    print(f"{name:9s} one pixel less in width and height: "
          f"{value:.1%} of the area (median)")
assert share[2] > 2 * share[0] > 2 * share[1] > 0

# %% [markdown]
# Two per cent of a red cell's area, five of a platelet's, always in the same direction, and more as objects get smaller.
# If a picture is shrunk five times before somebody subtracts the 1, it is five times as much.
# Large libraries have lived with such things: Detectron computed widths as $x_2-x_1+1$, its successor dropped the $+1$, and the same weights give different results in the two.

# %%
if found.is_real:
    assert 0.01 < share[0] < 0.03 and 0.03 < share[2] < 0.07

# %% [markdown]
# ## Boxes move with their picture
#
# An augmentation of [Section 14.1](01-augmentation.ipynb) that moves pixels has to move boxes.
# A flip sends the edge at $x$ to $W-x$, and the right edge becomes the left one:
#
# $$x_1'=W-x_2,\qquad x_2'=W-x_1, \tag{14.3.4}$$
#
# where $W$ is the picture's width, a number in the unit of the box, and the prime marks the new box.
# In a picture 12 wide, $(2,1,6,6)$ becomes $(6,1,10,6)$.
# The pixel in column $j$ goes to column $W-1-j$, because its right edge $j+1$ becomes its left.
# Applied to edges, this second rule is wrong.
# Resizing by a factor $s$ multiplies edges by $s$; the number of the last pixel, $x_2-1$, would have to become $s\,x_2-1$ instead.

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
# **Figure 14.3.6.** A letter with its box, and mirrored with two rules: the rule for pixels moves the box one column too far.
#
# Three tests that come to mind do not see the error: the wrong rule applied twice gives the box back, it keeps width and height, and most of its boxes stay inside the picture.
# Pixels see it.
# Whether we cut out the object and mirror it, or mirror the picture and cut out the object, must be the same.

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

# %% [markdown]
# ### What a validator sees
#
# `valid_boxes` with the picture as limit is cheap and can run in every training.
# Here are six slips, applied to all labels of the set.

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
*gross, flipped, counted = refused.values()
assert min(gross) > 0.15 > flipped >= counted
if found.is_real:
    assert 0.03 < flipped < 0.07 and abs(counted * 4888 - 2) < 0.1

# %% [markdown]
# The exchanges show up in nine pictures of ten or more, the first two in the same boxes, those that end behind $x=480$.
# The errors of one pixel show up only where a box touches the border or has no pixel to lose; if such rows are dropped in silence, nobody ever learns of the rest.
# So count what a validator removes, and test geometry on pixels.
#
# Where masks are known, they give the most direct test of a box.
# torchvision's `masks_to_boxes` returns the number of the last pixel, so $x_2-x_1$ is one less than ours; for a mask of one column it is 0.
# The crescents of `BananaLike` have exact masks.

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
# A crop to a rectangle shifts boxes, clips those that stick out, and removes some.
# With $B$ the box, $R$ the rectangle and $|\cdot|$ the area, a box keeps the *visible share*
#
# $$v=\frac{|B\cap R|}{|B|}\in[0,1]. \tag{14.3.5}$$
#
# For $B=(0,1,4,3)$ and $R=(2,1,8,5)$ the common part is $(2,1,4,3)$, and $v=\frac48$.
# Boxes with $v=0$ are outside and must go, those with $v=1$ stay.
# In between the label claims an object of which a part is missing, and how large a part it tolerates is for you to decide.
# Clipping predictions to the picture is the same operation, with $R$ the whole picture.

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
# **Figure 14.3.7.** A crop (black) and what is left of the boxes, with the visible share of each.
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
try:
    crop_boxes(several, (3, 1, 3, 5))
    raise AssertionError("an empty rectangle was accepted")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# A clipped box need not be tight any more, and can even hold no pixel of its object, as when a crop takes the empty corner of a crescent's box.
# Exercise 3 counts how often.
#
# torchvision's transforms move boxes with the picture if they know that they are boxes.
# `tv_tensors.BoundingBoxes` is a tensor that carries its format and the size of its picture; a flip, crop or resize of the sample then applies to image, boxes and masks alike.
# A crop there clips and keeps boxes without area; `SanitizeBoundingBoxes` removes them afterwards, by size and area, not by visible share.

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
# They fit badly where objects are long and turned, as in aerial pictures; *oriented boxes* add an angle or give four corners, and torchvision's transforms have moved them since version 0.23.
# Detectors with an open vocabulary, such as Grounding DINO, take a category name or a phrase in place of a class number, and answer with the same four numbers.
# And the truth itself is a choice: authors who annotated the pictures of COCO a second time conclude that the style of annotation matters for the models trained on it.

# %% [markdown]
# ## Summary
#
# - Detection returns a set of classes with boxes; this chapter's boxes are $(x_1,y_1,x_2,y_2)$, edges counted from 0 at the top left, half-open, so the width is $x_2-x_1$ and a slice cuts the object out.
# - VOC counts pixels from 1 and includes the last; COCO gives a corner and a size, YOLO a relative center and size: convert once, when reading.
# - Edges go to $W-x$ under a flip and are multiplied under a resize; numbers of pixels follow other rules, and the two differ by one column.
# - Round trips and widths do not see an error of one pixel; cutting out pixels, masks and a second implementation do.
# - Look at all labels first: sizes, limits, and fields that a program filled in.
# - A crop shifts, clips and removes; the visible share decides which labels remain true.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.3-1
#
# Batches of labels have the shape $(b,m,5)$: pictures with fewer than $m$ objects are filled up with rows of $-1$ (Section 14.6).
# Which functions of this section accept boxes of shape $(b,m,4)$?
# What does each make of the filling?
# Write `flip_labels(labels)` for such a batch in relative coordinates.

# %% [markdown]
# #### Solution 14.3-1

# %% [markdown]
# The conversions, `flip_boxes`, `resize_boxes`, `box_area` and `valid_boxes` work on the last axis and accept any axes before it.
# `crop_boxes` does not: the pictures of a batch lose different numbers of boxes.
#
# The conversions return the filling unchanged, since $(-1,-1,-1,-1)$ has the center $(-1,-1)$ and no size.
# `flip_boxes` turns it into $(2,-1,2,-1)$, which no longer looks like filling, so the flip below leaves it alone.
# `valid_boxes` refuses the filling, and so can serve as the mask.

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
# After the second turn the width that enters is the original height.
#
# At other angles the box alone does not determine the answer.
# All that can be said is that the object is inside the turned rectangle, whose own bounding box has, for sides $w$ and $h$ and the angle $\theta$, the sides $w|\cos\theta|+h|\sin\theta|$ and $w|\sin\theta|+h|\cos\theta|$.
# For a square at 45 degrees this is twice its area; a disc in it keeps its tight box.
# Augmenting with small rotations therefore loosens boxes, unless masks are at hand.
#
# The same rule is needed for photographs from telephones, whose files often hold the pixels unturned and a flag.
# A reader that follows the flag turns the picture, but not the boxes.

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

# %% [markdown]
# ### Exercise 14.3-3
#
# When does a crop make a label false?
# Take the crescents of `BananaLike` and discs from `ShapeImages`, crop each picture to a random quarter, and compare the visible share of the box, which `crop_boxes` uses, with that of the object, which the mask gives.
# Call a label that stays false if less than 15 % of the object is seen, and a label that goes a loss if more than half is seen.
# How do the two depend on `min_visible`?
# How many clipped boxes are still tight?

# %% [markdown]
# #### Solution 14.3-3

# %% [markdown]
# The guidelines of VOC ask annotators to box the visible part, and not to label an object of which less than 10 to 20 % is seen.
# With a threshold of 0 every box that reaches into the crop stays, and a good part of the labels is false; some show no pixel of their crescent.
# With a high threshold no label is false, but objects in plain view lose theirs and count as background from then on.
# Between 0.25 and 0.5 both errors stay near a tenth or below here.
# Of the crescents' boxes that were clipped and kept at up to 0.25, a third to a half are no longer tight.
# For discs, which fill their boxes better, a threshold of 0.25 leaves no false label, and most clipped boxes are tight.

# %%
def crop_study(masks, seed, thresholds=(0, 0.1, 0.25, 0.5, 0.75)):
    """Rows: threshold, share of false labels, of losses, of loose boxes."""
    n, boxes = len(masks), mask_boxes(masks)
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 33, (n, 2), generator=generator).tolist()
    shares = torch.zeros(2, n)  # of the box, of the object
    loose = torch.zeros(n, dtype=torch.bool)
    for i, (x, y) in enumerate(corners):
        clipped, kept = crop_boxes(boxes[i:i + 1], (x, y, x + 32, y + 32))
        part = masks[i, y:y + 32, x:x + 32]
        shares[1, i] = part.sum() / masks[i].sum()
        if kept.any():
            shares[0, i] = box_area(clipped)[0] / box_area(boxes[i])
            loose[i] = not torch.equal(mask_boxes(part[None]), clipped)
    rows = []
    for least in thresholds:
        kept = (shares[0] > 0) & (shares[0] >= least)
        rows.append([least, (shares[1, kept] < 0.15).float().mean(),
                     ((shares[1] > 0.5) & ~kept).float().mean(),
                     loose[kept & (shares[0] < 1)].float().mean()])
    empty = (shares[0] > 0) & (shares[1] == 0)
    return torch.tensor(rows), empty.sum().item()


study = {name: [crop_study(make(seed).masks, seed) for seed in range(3)]
         for name, make in (
             ("crescents", lambda seed: BananaLike(num_scenes, seed=seed)),
             ("discs", lambda seed: ShapeImages(num_scenes, [0], 64, seed)))}
for name, runs in study.items():
    print(f"{name:10s} false labels  losses  loose among the clipped")
    for row in torch.stack([table for table, _ in runs]).mean(0):
        print("{:10.2f} {:12.2f} {:7.2f} {:24.2f}".format(*row.tolist()))
    print("labels without a pixel of the object, at 0:",
          [empty for _, empty in runs])

# %%
if num_scenes >= 300:
    for table, empty in study["crescents"]:  # each of three seeds
        _, false, loss, loose = table.T
        assert false[0] > 0.12 and false[2] < 0.6 * false[0]
        assert false[3] == 0 and loss[2] == 0 and 0 < loss[3] < loss[4] / 2
        assert false[2] < 0.13 and loss[3] < 0.14 and empty >= 2
        assert 0.38 < loose[0] < 0.6 and 0.25 < loose[2] < loose[0]
    for (crescents, _), (discs, _) in zip(*study.values()):
        assert discs[2, 1] == 0 < crescents[2, 1]
        assert discs[2, 3] < 0.15 and discs[0, 3] < crescents[0, 3] - 0.1

# %% [markdown]
# ### Exercise 14.3-4
#
# Write all labels of the set as one JSON file in the format of COCO, read it back, and compare with the numbers in the XML files.
# COCO's file holds three lists of dictionaries: `images` (`id`, `file_name`, `width`, `height`), `annotations` (`id`, `image_id`, `category_id`, `bbox`, `area`, `iscrowd`) and `categories` (`id`, `name`).

# %% [markdown]
# #### Solution 14.3-4

# %% [markdown]
# A box in COCO is its top left corner and its size, counted from 0; no pixel is added or lost.
# The numbers from 1 on are free for categories, as in COCO itself.
# On the way back the XML's numbers are $x_1+1$, $y_1+1$, $x_2$ and $y_2$.
# Where the package `faster-coco-eval`, which Section 14.6 uses, is installed, its loader reads the file too.

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
again = from_coco(json.loads(text))
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
# - D. P. Papadopoulos, J. R. R. Uijlings, F. Keller and V. Ferrari (2017). Extreme clicking for efficient object annotation, [arXiv:1708.02750](https://arxiv.org/abs/1708.02750): 7 seconds a box, where drawing one took 35.
# - T.-Y. Lin et al. (2014). Microsoft COCO: common objects in context, [arXiv:1405.0312](https://arxiv.org/abs/1405.0312).
# - COCO, data format, [cocodataset.org](https://cocodataset.org/#format-data): boxes are counted from 0.
# - Ultralytics, object detection datasets, [docs.ultralytics.com](https://docs.ultralytics.com/datasets/detect/): the text files of YOLO.
# - S. Cheng, BCCD dataset, [github.com/Shenggan/BCCD_Dataset](https://github.com/Shenggan/BCCD_Dataset): the blood cells.
# - LabelImg, `libs/pascal_voc_io.py` and `libs/labelFile.py`, [github.com/HumanSignal/labelImg](https://github.com/HumanSignal/labelImg): how `truncated` is computed, and 0 replaced by 1.
# - Detectron2, compatibility with other libraries, [detectron2.readthedocs.io](https://detectron2.readthedocs.io/en/latest/notes/compatibility.html): the $+1$ and its end.
# - torchvision, `tv_tensors.BoundingBoxes`, [docs.pytorch.org](https://docs.pytorch.org/vision/stable/generated/torchvision.tv_tensors.BoundingBoxes.html): formats, oriented boxes since version 0.23.
# - G.-S. Xia et al. (2018). DOTA: a large-scale dataset for object detection in aerial images, [arXiv:1711.10398](https://arxiv.org/abs/1711.10398): objects outlined by quadrilaterals.
# - S. Liu et al. (2023). Grounding DINO: marrying DINO with grounded pre-training for open-set object detection, [arXiv:2303.05499](https://arxiv.org/abs/2303.05499).
# - E. Zimmermann, J. Szeto, J. Pasquero and F. Ratle (2023). Benchmarking a benchmark: how reliable is MS-COCO?, [arXiv:2311.02709](https://arxiv.org/abs/2311.02709): a second annotation.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the two boxes of C2.
