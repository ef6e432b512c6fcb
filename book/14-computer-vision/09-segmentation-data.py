# ---
# jupyter:
#   d2l:
#     data: [camvid]
#     profiles:
#       gpu:
#         height: 360
#         width: 480
#         num_train: 92
#         num_val: 34
#       smoke:
#         height: 90
#         width: 120
#         num_train: 12
#         num_val: 6
#     rehearsal:
#       num_train: 0.2
#       num_val: 0.3
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
# # 14.9 Semantic segmentation and the dataset
#
# A box says roughly where a car is; a driver-assistance system also has to know where the road ends and the pavement begins.
# *Semantic segmentation* answers for each pixel: which class is it part of?
# Its labels are pictures themselves, and that makes them easy to damage.
# This section reads two data sets of that kind, moves pictures and labels together, and builds the scores with which [Section 14.11](11-fcn.ipynb) judges networks.
#
# **You will**
#
# - tell semantic, instance and panoptic segmentation apart;
# - read masks that store colours or class numbers, and resize, crop and rotate them without inventing labels;
# - compute pixel accuracy, IoU and mean IoU from one confusion matrix, with pixels that count nowhere;
# - measure how much of a validation score comes from frames of one drive.
#
# **Cost**: less than half a minute on a CPU, no GPU needed; a download of 34 MB, once.

# %%
from functools import cached_property

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (
    confusion_matrix, scale_bytes)
from d2l_helpers.chapters.linear_regression import (
    DataModule, add_to_class)
from d2l_helpers.pictures import ShapeScenes, read_images

d2l.use_style()

# %% tags=["parameters"]
height = 180  # of the pictures of CamVid, stored with 360 x 480
width = 240
num_train = 92  # how many of them
num_val = 34

# %% [markdown]
# ## Three questions about a pixel
#
# Drawn scenes show the difference between three tasks, because the program that draws an object knows its pixels.
#
# - Semantic segmentation asks for the class: one number for each pixel, the background included.
# - *Instance segmentation* asks for objects: a mask and a class for each one, as the detectors of [Section 14.8](08-rcnn.ipynb) with a mask branch give them. Pixels of no object get no answer.
# - *Panoptic segmentation* (Kirillov and others) asks for both at each pixel: a class, and for countable *things* such as cars also the number of the object. Sky and road are *stuff*; they have a class and no number.

# %%
scenes = ShapeScenes(80, 64, seed=1)
kinds = ("background", "disc", "square", "triangle")
picks = [37, 34]  # two of the 80
for i in picks:
    print("classes", scenes.classes[i].unique().tolist(),
          "instances", scenes.instances[i].unique().tolist())

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 4, figsize=(6.4, 3.5))
shades = torch.tensor([(70, 70, 80), (40, 120, 220), (240, 150, 30),
                       (40, 170, 90)], dtype=torch.uint8)  # of kinds
objects = torch.tensor([(70, 70, 80), (240, 220, 60), (210, 60, 150),
                        (120, 210, 230)], dtype=torch.uint8)
for row, i in zip(axes, picks):
    row[0].imshow(scenes.images[i].permute(1, 2, 0))
    row[1].imshow(shades[scenes.classes[i]])
    row[2].imshow(objects[scenes.instances[i]])
    row[3].imshow(shades[scenes.classes[i]])
    for j, (kind, *_) in enumerate(scenes.labels[i].tolist()):
        y, x = (scenes.instances[i] == j + 1).nonzero().float().mean(0)
        row[3].text(x, y, f"{kinds[int(kind) + 1]} {j + 1}", fontsize=6,
                    ha="center", color="white", bbox={
                        "facecolor": "black", "pad": 1, "alpha": 0.6})
    row[3].text(1, 62, "background", fontsize=6, color="white")
for ax in axes.flat:
    ax.axis("off")
for ax, title in zip(axes[0], ("picture", "semantic", "instance",
                               "panoptic")):
    ax.set_title(title, fontsize=9)
d2l.describe(axes, """Two drawn scenes in rows, four columns. Picture: a
    triangle and two overlapping discs; a disc and two squares that touch.
    Semantic: the two discs, and the two squares, have one colour and form
    one region. Instance: each object has its own colour, the background
    none. Panoptic: regions coloured by class, each object with its class
    and number, the background with its class only.""")

# %% [markdown]
# **Figure 14.9.1.** Three kinds of labels for the same two pictures.
# In the semantic masks the two discs, and the two squares, are one region: the mask does not say how many objects it covers.
#
# All three assign meaning; *image segmentation* in the older sense only groups similar pixels, without naming them.
# The rest of the section is about semantic segmentation.

# %% tags=["hide-input"]
# check: the mask of classes is that of instances with its numbers looked up
kind_of = torch.cat([torch.zeros(80, 1), scenes.labels[..., 0] + 1], 1)
looked_up = kind_of.gather(1, scenes.instances.flatten(1))
assert torch.equal(looked_up.view(80, 64, 64).long(), scenes.classes)
for i, twice in zip(picks, (1, 2)):  # two objects of this class
    assert scenes.classes[i].unique().tolist() == [0, *sorted(
        {int(kind) + 1 for kind in scenes.labels[i, :, 0]})]
    assert scenes.instances[i].unique().tolist() == [0, 1, 2, 3]
    assert (scenes.labels[i, :, 0] == twice - 1).sum() == 2

# %% [markdown]
# ## CamVid: eleven classes and void
#
# CamVid (Brostow, Fauqueur and Cipolla) is video from a car in Cambridge, of which about 700 frames were labelled by hand with 32 classes.
# We use the version of the SegNet authors: 360 by 480 pixels, eleven classes, of which we load every fourth training and every third validation picture.
# A mask is a grey picture whose bytes are labels, 0 to 10.
# Number 11 is *void*: pixels without a class among the eleven, such as a rare object or the car's own bonnet.

# %% tags=["export"]
CAMVID_CLASSES = ("sky", "building", "pole", "road", "pavement", "tree",
                  "sign", "fence", "car", "pedestrian", "bicyclist")
CAMVID_COLORS = torch.tensor([  # the last one is void, index 11
    (150, 200, 240), (170, 90, 60), (250, 250, 250), (90, 80, 110),
    (235, 170, 190), (40, 130, 60), (255, 225, 50), (240, 130, 20),
    (30, 60, 200), (220, 20, 40), (30, 210, 200), (0, 0, 0)],
    dtype=torch.uint8)

# %% tags=["export"]
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

# %%
pictures, masks, names = read_camvid("train", (144, 192), 2)
print(tuple(pictures.shape), tuple(masks.shape), masks.dtype, names)
day, day_mask, _ = read_camvid("val", (144, 192), 1)

# %% tags=["hide-input"]
def color_legend(fig, labels):
    """Names and colours of these classes of CamVid below a figure."""
    handles = [plt.Rectangle((0, 0), 1, 1, ec="#888888", lw=0.5,
                             fc=(CAMVID_COLORS[i] / 255).tolist())
               for i in labels]
    fig.legend(handles, [(*CAMVID_CLASSES, "void")[i] for i in labels],
               fontsize=8, loc="outside lower center", ncol=6,
               frameon=False, columnspacing=1.0, handlelength=1.2)


dusk = (pictures[0] / 255).sqrt()  # brighter, for the eye
fig, axes = plt.subplots(2, 2, figsize=(5.6, 4.9))
for column, (img, mask) in zip(axes.T, ((day[0] / 255, day_mask[0]),
                                        (dusk, masks[0]))):
    column[0].imshow(img.permute(1, 2, 0), interpolation="nearest")
    column[1].imshow(CAMVID_COLORS[mask.long()], interpolation="nearest")
for ax in axes.flat:
    ax.axis("off")
color_legend(fig, range(12))
d2l.describe(axes, """Two street scenes from a car, the left by day, the
    right at dusk, and below each its mask in twelve colours: road at the
    bottom, buildings at the sides, sky at the top, cars, poles, trees and
    pavement between them.""")

# %% [markdown]
# **Figure 14.9.2.** A validation picture (left) and a training picture at dusk (right, brightened for the page) with their masks.
#
# Void is no twelfth class that a network should learn.
# The loss and the score leave these pixels out.
# In PyTorch that is `ignore_index`: for a batch of scores $(b, k, h, w)$ and labels $(b, h, w)$, `F.cross_entropy` averages over the pixels whose label is not ignored.

# %%
scores = torch.randn(1, 11, 144, 192,
                     generator=torch.Generator().manual_seed(0))
scores.requires_grad_()  # (1, 11, h, w): a score for each class
y = masks[:1].long()  # (1, h, w)
loss = F.cross_entropy(scores, y, ignore_index=11)
loss.backward()
void = y == 11
at_void = scores.grad.abs().sum(1)[void]  # how void pixels pull
print(f"void pixels: {void.sum():,}; largest gradient there: "
      f"{at_void.max():.1f}")

# %%
# check: the mean over counted pixels, no pull elsewhere
each = F.cross_entropy(scores.detach(), y.where(~void, 0), reduction="none")
torch.testing.assert_close(loss.detach(), each[~void].mean())
assert void.any() and at_void.max() == 0
assert (scores.grad.abs().sum(1)[~void] > 0).all()

# %%
# check: nothing left: the loss is nan, but its gradient only by hand
scores.grad = None
empty = F.cross_entropy(scores, torch.full_like(y, 11), ignore_index=11)
empty.backward()
assert empty.isnan() and (scores.grad == 0).all()
keep = torch.zeros_like(y)
each = F.cross_entropy(scores, y.where(~void, 0), reduction="none")
((each * keep).sum() / keep.sum()).backward()
assert scores.grad.isnan().all()

# %% [markdown]
# A batch in which *every* label is ignored, say a small crop of a large void region, is a trap: its loss is the mean of nothing, nan.
# The gradient that `F.cross_entropy` returns is then 0, as the check shows, but the nan spreads to every average of the losses.
# A mean that is computed by hand with a mask has nan gradients as well, and one step with them ruins the weights.

# %% [markdown]
# ## Masks that are colours
#
# Pascal VOC 2012, with 1464 training and 1449 validation pictures and 20 classes plus background, stores its masks as PNG files with a palette: each byte is an index, and the palette gives it the colour that we see.
# Label 255 surrounds the objects with a border that is ignored.
# The palette comes from a rule that spreads the bits of the index: its bits 0, 3 and 6 become the three highest bits of red, bits 1, 4 and 7 those of green, bits 2 and 5 the two highest of blue.
# For example $20 = 10100_2$ has the bits 2 and 4: blue gets its highest bit, 128, and green its second, 64.

# %% tags=["export"]
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

# %%
# check 14.9-C1: the published colours; all 256 differ
colors = voc_colormap()
assert colors[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0],
                               [128, 128, 0], [0, 0, 128]]
assert colors[20].tolist() == [0, 64, 128]
assert colors[255].tolist() == [224, 224, 192]
assert len(colors.unique(dim=0)) == 256
assert ((colors[1:] ^ colors[:-1])[:, 0] >= 128).all()  # neighbours

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.9),
                                  width_ratios=[4, 3])
chosen = [*range(21), 255]
for place, i in enumerate(chosen):
    y, x = divmod(place, 6)
    left.add_patch(plt.Rectangle((x, -y), 0.92, 0.92,
                                 fc=(colors[i] / 255).tolist()))
    bright = (colors[i] / 255 * torch.tensor([0.3, 0.59, 0.11])).sum()
    left.text(x + 0.46, 0.46 - y, str(i), ha="center", va="center",
              fontsize=9, color="black" if bright > 0.45 else "white")
left.set(xlim=(-0.1, 6.1), ylim=(-3.1, 1.1), aspect="equal",
         title="classes 0 to 20, border 255")
left.axis("off")
right.imshow(colors.reshape(16, 16, 3))
right.set(title="all 256", xlabel="index modulo 16", ylabel="index div 16",
          xticks=[0, 5, 10, 15], yticks=[0, 5, 10, 15])
right.grid(False)
d2l.describe([left, right], """Left 22 coloured squares: black for 0, dark
    red for 1, green for 2, olive for 3, dark blue for 4 and so on, and a
    pale cream for 255. Right a table of 16 by 16 colours from black at the
    top left to cream at the bottom right; neighbours differ strongly.""")

# %% [markdown]
# **Figure 14.9.3.** Neighbouring indices differ in their lowest bit, that is in the highest bit of red, so their colours are easy to tell apart.
# The border is a pale cream, $(224, 224, 192)$; teaching material that calls it white would look for $(255, 255, 255)$ in vain.
#
# Pillow returns the indices as long as nothing converts the picture; a program that reads the file as RGB gets colours, and to train on them we need the way back.
# A colour becomes one number, $2^{16}r+2^8g+b$, and a sorted table tells its label.
# A colour that is not in the table is an error.
# A table that starts as zeros would make background of it, and of the border, without a word.

# %% tags=["export"]
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

# %%
# check 14.9-C2: label -> colour -> label, 21 classes and 255; strangers
labels = torch.tensor(chosen)
rng = torch.Generator().manual_seed(0)
drawn = labels[torch.randint(22, (2, 5, 7), generator=rng)]
colored = voc_colormap()[drawn].movedim(-1, -3)  # (2, 3, 5, 7), bytes
assert torch.equal(label_indices(colored), drawn)
assert torch.equal(label_indices(voc_colormap()[labels].T[..., None])[:, 0],
                   labels)
own = colormap2label(CAMVID_COLORS)  # any palette will do
painted = CAMVID_COLORS[day_mask[0].long()].movedim(-1, 0)
assert torch.equal(label_indices(painted, own), day_mask[0].long())


def refuses(words, call, *args):
    """Whether this call raises a ValueError with these words."""
    try:
        call(*args)
    except ValueError as error:
        return words in str(error)
    return False


for wrong in ((255, 255, 255), (0, 0, 1), voc_colormap()[21].tolist()):
    colored[0, :, 0, 0] = torch.tensor(wrong)
    assert refuses(str(list(wrong)), label_indices, colored)

# %% [markdown]
# ## Labels are names, not quantities
#
# Halve a photograph, and each new pixel is a mean of old ones.
# Halve a mask like that, and a new pixel whose sources are half sky (0) and half tree (5) gets 2.5, which PyTorch rounds to 2: a pole.
# Class numbers are names, and the mean of two names is nonsense.
# A smaller mask has to take over labels that are there: that of the nearest pixel, or that of the majority.

# %%
full = read_camvid("val", None, num_val)[1]  # bytes (n, 360, 480)
n, h, w = full.shape
blocks = full.reshape(n, h // 2, 2, w // 2, 2)  # the four sources


def halve(mode):
    """Halved masks, and which labels none of the four sources has."""
    small = F.interpolate(full[:, None].float(), scale_factor=0.5,
                          mode=mode)[:, 0].round().byte()
    return small, (small[:, :, None, :, None] != blocks).all(4).all(2)


halved, invented = {}, {}
for mode in ("bilinear", "nearest"):
    halved[mode], invented[mode] = halve(mode)
    print(f"{mode:8s} invented: {invented[mode].float().mean():.1%} of all "
          "pixels; of those called pole and sign", *(
              f"{invented[mode][halved[mode] == c].float().mean():.0%}"
              for c in (2, 6)))

# %%
# check 14.9-C6: averages of labels invent classes, nearest pixels do not
real = d2l.fetch("camvid").is_real
assert invented["bilinear"].any() or not real  # drawn in squares of four
assert not invented["nearest"].any()
four = blocks.transpose(2, 3).flatten(3)  # (n, h / 2, 2, w / 2, 2) -> 4
majority = four.mode(3).values
assert not (majority[..., None] != four).all(3).any()
edge = torch.tensor([[0.0, 5.0], [0.0, 5.0]])[None, None]  # sky, tree
for mode, label in (("bilinear", 2), ("nearest", 0)):
    assert F.interpolate(edge, scale_factor=0.5, mode=mode).round() == label
full_run = num_train >= 92 and num_val >= 34  # not smoke
if real and full_run:
    share = invented["bilinear"].float().mean()
    assert 0.02 < share < 0.05
    for c in (2, 6):
        thin = invented["bilinear"][halved["bilinear"] == c].float().mean()
        assert 1 / 3 < thin < 1 / 2

# %% tags=["hide-input"]
near = F.avg_pool2d(invented["bilinear"][:, None].float(), (24, 32),
                    stride=8)
spot = near.flatten().argmax().item()  # where most is invented
i, spot = divmod(spot, near[0].numel())
top, left_ = (8 * k for k in divmod(spot, near.shape[3]))
part = (i, slice(top, top + 24), slice(left_, left_ + 32))
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.2))
big = (i, slice(2 * top, 2 * top + 48), slice(2 * left_, 2 * left_ + 64))
shown = {"as stored": full[big], "halved, nearest": halved["nearest"][part],
         "halved, averaged": halved["bilinear"][part]}
for ax, (title, mask) in zip(axes, shown.items()):
    ax.imshow(CAMVID_COLORS[mask.long()])
    ax.set_title(title, fontsize=9)
    ax.axis("off")
color_legend(fig, sorted(set(torch.cat(
    [mask.flatten() for mask in shown.values()]).tolist())))
d2l.describe(axes, """A small part of a mask three times. As stored and halved
    by the nearest pixel it has the same few regions. Halved by averages, the
    edges between the regions carry thin lines of other classes.""")

# %% [markdown]
# **Figure 14.9.4.** The part of the validation masks in which averaging invents most: specks of other classes line the edges.
#
# These specks are a few per cent of all pixels, but they are not spread evenly over the classes: on these masks, between a third and a half of the pixels that an averaged mask calls pole, or sign, have no such pixel among their sources.
# Which classes are hit depends on the order of the numbers, too: a mean lies between its sources, so sky (0) and void (11), at the two ends, are never invented.
# Trained on such masks, a network is told that things have outlines of other classes, poles and signs among them.
#
# A second pitfall moves the mask instead.
# *Which* pixel is nearest?
# PyTorch's mode `"nearest"`, which torchvision also takes for masks, picks the first of three pixels when a size is divided by three; `"nearest-exact"` and Pillow, which `read_images` uses, pick the middle one, where the pixel of the averaged photograph is centred, too.
# (`v2.Resize` takes it as `InterpolationMode.NEAREST_EXACT`, but uses it for every input of the call, so resize picture and mask in two calls; releases before the middle of 2026 ignored it for masks.)

# %%
ramp = torch.arange(9.0).expand(1, 1, 9, 9)  # each pixel tells its column
thirds = {mode: F.interpolate(ramp, size=(3, 3), mode=mode)[0, 0, 0].tolist()
          for mode in ("nearest", "nearest-exact")}
photo = F.interpolate(ramp, size=(3, 3), mode="bilinear", antialias=True)
as_mask = v2.Resize((3, 3))(tv_tensors.Mask(ramp[0].byte()))[0, 0]
print(thirds, "photograph:", photo[0, 0, 0].tolist())
assert thirds["nearest"] == as_mask.tolist() == [0, 3, 6]
pillow = Image.fromarray(ramp[0, 0].byte().numpy()).resize((3, 3), 0)
assert thirds["nearest-exact"] == [1, 4, 7]
assert [pillow.getpixel((i, 0)) for i in range(3)] == [1, 4, 7]
assert (photo[0, 0, 0] - torch.tensor([1.0, 4, 7])).abs().max() < 0.3

# %% [markdown]
# ## Moving pictures and labels together
#
# [Section 14.1](01-augmentation.ipynb) could flip and crop a picture at will, because a cropped cat is still a cat.
# Here the label has to follow every geometric step.
# The window is drawn once and cut out of both.
# Where a picture is smaller than the window, some loaders drop it, even from the validation set, and then report a score on other pictures than everybody else.
# We pad instead: the picture with black, the label with the ignored index, so that the padding enters neither loss nor score.

# %% tags=["export"]
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

# %%
# check 14.9-C3: the label stays below its pixel; padding is ignored
place = torch.arange(30 * 40).reshape(30, 40)  # every pixel is its own label
painted = place.float().expand(3, -1, -1)  # a picture painted by it
rng = torch.Generator().manual_seed(1)
corners = []
for _ in range(200):
    img, label = rand_crop(painted, place, 28, 37, generator=rng)
    assert img.shape == (3, 28, 37) and label.shape == (28, 37)
    assert torch.equal(img, label.float().expand(3, -1, -1))
    corners.append(divmod(label[0, 0].item(), 40))
assert set(corners) == {(i, j) for i in range(3) for j in range(4)}
img, label = rand_crop(painted, place, 35, 37, 255, rng)
assert (label[:30] == place[:, label[0, 0]:label[0, 0] + 37]).all()
assert (label[30:] == 255).all() and (img[:, 30:] == 0).all()
again = [rand_crop(painted, place, 9, 9, generator=torch.Generator()
                   .manual_seed(2))[1] for _ in range(2)]
assert torch.equal(*again)

# %% [markdown]
# ### With torchvision
#
# The transforms of `torchvision.transforms.v2` take several inputs and draw one set of random numbers for all of them.
# The type of an input says what it is: `tv_tensors.Image`, `tv_tensors.Mask` (and boxes).
# Geometric transforms move both, masks always by the nearest pixel; colour transforms leave masks alone.

# %%
to_void = {tv_tensors.Image: 0, tv_tensors.Mask: 11}
augment = v2.Compose([
    v2.RandomHorizontalFlip(), v2.RandomRotation(10, fill=to_void),
    v2.RandomResizedCrop((96, 128), scale=(0.3, 1.0)),
    v2.ColorJitter((0.9, 1.7), 0.2, 0.4)])
pair = tv_tensors.Image(pictures[1]), tv_tensors.Mask(masks[1].long())
torch.manual_seed(5)
pairs = [augment(*pair) for _ in range(3)]

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 3, figsize=(6.0, 3.2))
for column, (img, mask) in zip(axes.T, pairs):
    column[0].imshow(img.permute(1, 2, 0), interpolation="nearest")
    column[1].imshow(CAMVID_COLORS[mask], interpolation="nearest")
for ax in axes.flat:
    ax.axis("off")
d2l.describe(axes, """Three random variants of one street scene, flipped or
    not, rotated, cropped and with other brightness and colours, and below
    each its mask, moved in the same way, with black where the rotation left
    a gap.""")

# %% [markdown]
# **Figure 14.9.5.** Three augmentations of one training picture; black in a mask is void.
#
# Two things go wrong silently.
# If all inputs are plain tensors, only the first is transformed and the others pass through, so a flipped picture keeps its unflipped mask; a mask needs its type.
# And without `fill` a rotation fills the gaps in the corners with 0, which in CamVid is not "nothing" but sky.

# %%
# check: with types the pair moves as one; what goes wrong without
painted = tv_tensors.Image(place.expand(3, -1, -1).float())
moves = v2.Compose([v2.RandomHorizontalFlip(0.5), v2.RandomCrop((20, 30))])
torch.manual_seed(0)
flips = set()
for _ in range(20):
    img, label = moves(painted, tv_tensors.Mask(place))
    assert torch.equal(img[0], label.float())
    flips.add((label[0, 1] - label[0, 0]).item())
assert flips == {1, -1}
img, label = v2.RandomHorizontalFlip(1.0)(painted.as_subclass(torch.Tensor),
                                          place)
assert torch.equal(img[0], place.flip(1)) and torch.equal(label, place)
jittered, label = v2.ColorJitter(0.4)(*pair)
assert torch.equal(label, pair[1]) and not torch.equal(jittered, pair[0])
road = tv_tensors.Mask(torch.full((1, 40, 40), 3))
assert v2.RandomRotation((9, 9))(road).unique().tolist() == [0, 3]
assert v2.RandomRotation((9, 9), fill=to_void)(
    road).unique().tolist() == [3, 11]
assert set(pairs[0][1].unique().tolist()) <= {*pair[1].unique().tolist(), 11}

# %% [markdown]
# ## The data module
#
# `SegData` keeps bytes and labels in memory, as in [Section 4.2](../04-linear-classification/02-image-classification-dataset.ipynb), and remembers where each picture comes from.
# The last part of the section needs that.

# %% tags=["export"]
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

# %% tags=["export"]
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

# %% tags=["export"]
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

# %%
data = SegData(size=(height, width), num_train=num_train, num_val=num_val)
X, y = next(iter(data.train_dataloader()))
print("batch:", tuple(X.shape), X.dtype, tuple(y.shape), y.dtype)
drawn = SegData("scenes")
print("scenes:", tuple(drawn.train[0].shape), tuple(drawn.val[1].shape))

# %% tags=["hide-input"]
# check: what the module promises
assert X.shape == (min(8, num_train), 3, height, width) and X.max() <= 1
assert y.shape == (len(X), height, width) and y.max() <= data.ignore == 11
assert [len(data.names[part]) for part in ("train", "val")] == [
    num_train, num_val]
found = d2l.fetch("camvid").files
for part, (X, y) in (("train", data.train), ("val", data.val)):
    every = sorted(name for name in found if f"/{part}/" in name)
    picked = [every[i * len(every) // len(y)] for i in range(len(y))]
    assert data.names[part] == [name[len(part) + 8:-4] for name in picked]
    for i in (0, -1):  # two of them read without the module
        img = read_images([found[picked[i]]], (height, width))[0]
        mask = read_images([found[picked[i].replace(part, part + "annot")]],
                           (height, width), "L")[0]
        assert torch.equal(X[i], img / 255) and torch.equal(y[i], mask.long())

# %% tags=["hide-input"]
# check: drawn scenes by seed and part; batches cropped, shuffled, repeated
assert drawn.train[0].shape == (400, 3, 64, 64)
assert drawn.val[1].shape == (80, 64, 64)
order = [SegData("scenes", num_train=6, num_val=6, size=(32, 32), seed=s)
         for s in (0, 0, 1)]
assert torch.equal(order[0].train[0], order[1].train[0])
assert not torch.equal(order[0].train[0], order[2].train[0])
assert not torch.equal(order[0].train[0], order[0].val[0])
small = SegData(size=(24, 32), num_train=5, num_val=3, batch_size=2,
                crop=(40, 20))
assert small.names["val"] == [  # `every`: cell above
    every[i * len(every) // 3][11:-4] for i in range(3)]
small.generator = torch.Generator().manual_seed(0)
batches = list(small.train_dataloader())
assert [tuple(b[0].shape[2:]) for b in batches] == [(40, 20)] * 3
torch.manual_seed(1)  # must not matter
small.generator = torch.Generator().manual_seed(0)
for old, new in zip(batches, small.train_dataloader(), strict=True):
    assert torch.equal(old[0], new[0]) and torch.equal(old[1], new[1])
assert all((b[1][:, 24:] == 11).all() for b in batches)
seen = torch.cat([b[1] for b in small.val_dataloader()])
assert torch.equal(seen, small.val[1])  # in order, not cropped
small.crop = None
seen = torch.cat([b[1] for b in small.train_dataloader()])
assert not torch.equal(seen, small.train[1])  # shuffled
assert sorted(seen.sum((1, 2))) == sorted(small.train[1].sum((1, 2)))

# %% [markdown]
# ## Scores
#
# Count in a confusion matrix ([Section 4.3](../04-linear-classification/03-base-classification-model.ipynb)) $\mathbf{M}$, $k\times k$, how often a pixel of class $i$ was called $j$; pixels of the ignored label are left out, whatever was predicted there.
# (`confusion_matrix` there multiplies one-hot matrices; for millions of pixels `torch.bincount` counts the pairs without them.)
# All scores follow from it.
# *Pixel accuracy* is the share on the diagonal.
# The intersection over union (IoU) of a class is that of [Section 14.4](04-anchor-boxes.ipynb) for sets of pixels instead of boxes,
#
# $$\mathrm{IoU}_c=\frac{M_{cc}}{\sum_j M_{cj}+\sum_i M_{ic}-M_{cc}}, \qquad \mathrm{mIoU}=\frac1{|C|}\sum_{c\in C}\mathrm{IoU}_c, \tag{14.9.1}$$
#
# where $i,j,c=0,\dots,k-1$ are classes, the row sum $\sum_j M_{cj}$ counts the pixels of class $c$, the column sum $\sum_i M_{ic}$ those called $c$, and $C$ is the set of classes that occur in truth or prediction; for any other class the fraction would be 0/0.

# %% tags=["export"]
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

# %%
truth = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 9]])  # 9 is void
guess = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
cm = confusion(guess, truth, k=3, ignore=9)
print(cm.tolist(), [round(x, 3) for x in class_iou(cm).tolist()],
      round(miou(cm), 3))

# %% [markdown]
# By hand: class 0 has five pixels, of which four were found and none added, so its IoU is $4/5$; class 1 has two, both found, and one too many, $2/3$; class 2 occurs nowhere.
# The mean is $11/15$, the accuracy $6/7$.

# %%
# check 14.9-C4: the matrix gives what sets of pixels give; void is void
assert abs(miou(cm) - 11 / 15) < 1e-12
assert abs(pixel_accuracy(cm) - 6 / 7) < 1e-6
rng = torch.Generator().manual_seed(4)
for trial in range(20):
    absent = trial % 5  # neither in truth nor in prediction
    pick = torch.tensor([c for c in range(5) if c != absent])
    guess, truth = pick[torch.randint(4, (2, 12, 15), generator=rng)]
    truth = truth.where(torch.rand(12, 15, generator=rng) > 0.2, 255)
    direct = []
    for c in pick.tolist():
        p, t = (guess == c) & (truth != 255), truth == c
        direct.append(((p & t).sum() / (p | t).sum()).item())
    cm = confusion(guess, truth, 5, 255)
    assert abs(miou(cm) - sum(direct) / 4) < 1e-6
    assert class_iou(cm).isnan().nonzero().tolist() == [[absent]]
    other = guess.where(truth != 255, 77)  # no class at all
    assert torch.equal(confusion(other, truth, 5, 255), cm)
known = truth != 255
assert torch.equal(cm, confusion_matrix(guess[known], truth[known], 5))
for bad in (other, -guess - 1):
    assert refuses("a prediction lies outside", confusion, bad, guess, 5)
    assert refuses("a target lies outside", confusion, guess, bad, 5)

# %% tags=["hide-input"]
# check: what is refused, with a message that tells the value
assert refuses("12, 15", confusion, guess[:3], guess, 5)
assert refuses("257", voc_colormap, 257) and refuses("0", voc_colormap, 0)
assert refuses("same colour", colormap2label, [[1, 2, 3]] * 2)
assert refuses("(4, 5)", rand_crop, torch.zeros(3, 4, 4), truth[:4, :5], 2, 2)
assert refuses("0 pictures of val", read_camvid, "val", None, 0)
assert refuses("9999 pictures of val", read_camvid, "val", None, 9999)
assert refuses("'voc'", SegData, "voc")
assert refuses("(32, 64)", SegData, "scenes", 8, (32, 64))

# %% [markdown]
# ### Why accuracy is not enough
#
# The classes differ widely in size.

# %%
def shares(labels):
    """Share of each class of CamVid in these labels, void left out."""
    count = torch.bincount(labels.flatten(), minlength=12)[:11]
    return count / count.sum()


by_part = {part: shares(labels) for part, labels in data.labels.items()}

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 3.4))
order = by_part["train"].argsort()
spots = torch.arange(11)
for (part, share), marker, color in zip(by_part.items(), "os",
                                        ("C0", "C1")):
    ax.plot(100 * share[order], spots, marker, color=color, ls="none",
            label={"train": "training", "val": "validation"}[part])
ax.set_yticks(spots.tolist(), labels=[CAMVID_CLASSES[i] for i in order])
ax.set(xscale="log", xlabel="per cent of the labelled pixels")
ax.set_xticks([0.3, 1, 3, 10, 30], labels=["0.3", "1", "3", "10", "30"])
ax.minorticks_off()
ax.legend()
d2l.describe(ax, """Marks for eleven classes on a logarithmic axis. Road has
    about 30 per cent of the pixels, building a quarter, sky 10 to 17; pole,
    pedestrian and bicyclist are near or below one per cent of the training
    pixels. Bicyclists are several times as frequent in validation as in
    training.""")

# %% [markdown]
# **Figure 14.9.6.** Shares of the classes; the axis is logarithmic.
#
# A method that calls everything road is right on nearly 30 % of the validation pixels and useless.
# Its mean IoU says so: the IoU of road is its share of the pixels, since the union is all that count; the other ten are 0, and the mean divides by eleven.
# In the drawn scenes, whose background covers about 86 % of the pixels, the same trick reaches an accuracy of 0.86 and an mIoU of a quarter of that.

# %%
# check 14.9-C5: the most frequent class everywhere
constant = {}
for name, module, guess in (("all road", data, 3),
                            ("all background", drawn, 0)):
    y = module.val[1]
    cm = confusion(torch.full_like(y, guess), y, module.num_classes,
                   module.ignore)
    constant[name] = cm
    print(f"{name:15s} accuracy {pixel_accuracy(cm):.3f}  "
          f"mIoU {miou(cm):.3f}")
    occurring = (cm.sum(1) > 0).sum()  # of 4 or 11 classes
    assert abs(miou(cm) - pixel_accuracy(cm) / occurring) < 1e-6
assert all(abs(share.sum() - 1) < 1e-5 for share in by_part.values())
assert 0.84 < pixel_accuracy(constant["all background"]) < 0.88
assert 0.21 < miou(constant["all background"]) < 0.22
for seed in (1, 2):  # other scenes
    share = (SegData("scenes", num_train=1, seed=seed).val[1] == 0)
    assert 0.84 < share.float().mean() < 0.88
if real and full_run:
    assert abs(pixel_accuracy(constant["all road"]) - 0.296) < 0.003
    assert abs(miou(constant["all road"]) - 0.027) < 0.0005
    assert by_part["train"].argmax() == by_part["val"].argmax() == 3
    assert by_part["train"][3] > 60 * by_part["train"][10]
    assert by_part["val"][10] > 4 * by_part["train"][10]

# %% [markdown]
# ### One matrix for the whole set
#
# The mean IoU of a set is computed from the *sum* of its matrices.
# The mean of the values of single pictures is a different number.
# Suppose a picture shows a car of 100 pixels, of which a method finds 80 and nothing else, and another shows a distant car of one pixel, which it misses.
# The mean over pictures is $(0.8+0)/2=0.4$; over the set it is $80/101=0.79$.
# Neither is wrong: the first gives each picture the same weight, the second each pixel.
# Pascal VOC has used the value over the whole set since 2008, and many benchmarks followed; Wang and others (2023) point out that it favours large objects, and propose values by picture as well.
# Plainly wrong is the mean over batches, which depends on the batch size; the end of the next part measures it.

# %% [markdown]
# ## What a validation score measures here
#
# CamVid is video, and neighbouring frames are almost the same picture.
# The names of the frames tell more.

# %%
drive = data.sequences["val"][0]
frame = {part: torch.tensor([int(name.split("_")[1].lstrip("f"))
                             for name in names])
         for part, names in data.names.items()}
first, last = frame["val"].aminmax()
print({part: {s: sequences.count(s) for s in dict.fromkeys(sequences)}
       for part, sequences in data.sequences.items()})
print(f"validation: frames {first} to {last} of {drive}, "
      f"{(last - first) / 30:.1f} s of video at 30 Hz")

# %% [markdown]
# All our validation pictures are less than seven seconds of a single drive, and more than half of the training pictures come from that drive, some from a few seconds before and after.
#
# How much is that worth?
# We test a method that understands nothing: to "segment" a picture, it looks for the most similar stored picture (18 by 24 pixels, smallest distance) and copies its mask.
# Void is no answer, so a copied void becomes road, the most frequent class.
# It may copy from 41 pictures of the same drive (drawn anew for each picture, three times), from the 41 of the two other drives (16 of them at dusk), or, as a limit, from another *validation* picture.

# %%
def tiny(X):
    """Pictures (n, 3, h, w) as vectors of 18 x 24 coloured pixels."""
    return F.interpolate(X, (18, 24), mode="bilinear",
                         antialias=True).flatten(1)


def copied(distance, masks, allowed, number=None, seed=0):
    """For each row of `distance` the mask of the nearest allowed picture.

    With a `number`, so many allowed pictures are drawn for each row.
    """
    if number is not None:
        rng = torch.Generator().manual_seed(seed)
        luck = torch.rand(allowed.shape, generator=rng).where(allowed, -1)
        picks = luck.topk(number, 1).indices
        allowed = allowed & torch.zeros_like(allowed).scatter(1, picks, True)
    assert allowed.any(1).all(), "a picture has nothing to copy from."
    found = masks[distance.where(allowed, torch.inf).argmin(1)]
    return found.where(found != 11, 3)


vectors = {part: tiny(X) for part, (X, _) in (("train", data.train),
                                              ("val", data.val))}
target = data.labels["val"]

# %%
to_train = torch.cdist(vectors["val"], vectors["train"])  # (val, train)
same = torch.tensor([s == drive for s in data.sequences["train"]])
same, stored = same.expand_as(to_train), data.labels["train"]
count = min(same[0].sum(), (~same[0]).sum()).item()  # 41
guesses = {
    "other drives": [copied(to_train, stored, ~same)],
    "same drive": [copied(to_train, stored, same, count, seed)
                   for seed in range(3)]}
to_val = torch.cdist(vectors["val"], vectors["val"])
guesses["next frame"] = [copied(to_val, target, ~torch.eye(
    len(target), dtype=torch.bool))]
matrices = {"all road": [constant["all road"]]}
for name, several in guesses.items():
    matrices[name] = [confusion(guess, target, 11, 11) for guess in several]
for name, several in matrices.items():
    print(f"{name:13s}accuracy", " ".join(
        f"{pixel_accuracy(cm):.2f}" for cm in several), " mIoU", " ".join(
        f"{miou(cm):.2f}" for cm in several))

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.8, 3.4))
styles = {"other drives": ("C1", "s"), "same drive": ("C0", "o"),
          "next frame": ("C3", "^")}
for name, (color, marker) in styles.items():
    for i, cm in enumerate(matrices[name]):
        ax.plot(class_iou(cm)[order].nan_to_num(0), spots, marker,
                color=color, ms=5, alpha=0.75, ls="none",
                label=None if i else name)
ax.set_yticks(spots.tolist(), labels=[CAMVID_CLASSES[i] for i in order])
ax.set(xlabel="IoU", xlim=(-0.03, 1))
ax.legend(fontsize=8, loc="lower right")
d2l.describe(ax, """IoU of eleven classes for masks copied from other drives,
    from the same drive (three draws) and from the nearest other validation
    picture. For nearly every class the other drives are lowest and the next
    frame is highest. Road and building are high, thin and rare classes such
    as pole, sign and pedestrian near zero except for the next frame.""")

# %%
# check: the same drive helps in each draw; frames nearly repeat
if real and full_run:
    assert set(data.sequences["val"]) == {"0016E5"}
    assert data.sequences["train"].count("0016E5") == 51
    assert count == 41 and (first, last) == (7959, 8157)
    taken = frame["train"][same[0]]
    assert (first - taken[taken < first]).min() < 120
    assert (taken[taken > last] - last).min() < 120
    other, near = matrices["other drives"][0], matrices["next frame"][0]
    for cm in matrices["same drive"]:
        assert miou(cm) > miou(other) + 0.12
        assert 0.66 < pixel_accuracy(cm) < 0.76
        assert pixel_accuracy(cm) > pixel_accuracy(other) + 0.2
        assert miou(near) > miou(cm) + 0.15
    assert 0.87 < pixel_accuracy(near) < 0.94
    assert pixel_accuracy(other) < 0.5 and miou(other) < 0.2
    nearest = to_val.clone().fill_diagonal_(torch.inf).argmin(1)
    step = (frame["val"][nearest] - frame["val"]).abs()
    assert (step == 6).float().mean() > 0.75

# %% [markdown]
# **Figure 14.9.7.** IoU of each class for masks that were copied, not predicted; classes in the order of Figure 14.9.6.
#
# Without learning anything, copies from the same drive are right on some 70 % of the pixels, copies from the other drives on fewer than half, with equally many pictures to choose from.
# The next frame, a fifth of a second away in most cases, is right on some 90 %, so these 34 pictures tell less than 34 independent ones would.
#
# Is it the drive, or the few pictures taken seconds before and after?
# We allow only pictures at least so many seconds away from the one to be segmented, and always draw equally many of them.
# A single drive could mislead us, so we do the same for each training picture of the two drives by day, which may copy from the other training pictures of its drive.
# The control copies from as many pictures of the other drive by day.

# %%
day = ("0016E5", "0006R0")
gaps = (0, 10, 20, 30)


def of(name, part="train"):
    """Which pictures of a part come from this drive."""
    return torch.tensor([s == name for s in data.sequences[part]])


def by_gap(part, name, other, number):
    """Three mIoU for each gap in seconds, and for the key `other`."""
    rows = of(name, part)
    distance = torch.cdist(vectors[part][rows], vectors["train"])
    away = (frame[part][rows][:, None] - frame["train"]).abs() / 30
    allowed = {gap: of(name) & (away >= gap) & (away > 0) for gap in gaps}
    allowed[other] = of(other).expand_as(away)
    number = min(number, of(other).sum().item())
    return {key: [miou(confusion(copied(
        distance, stored, some, number, seed), data.labels[part][rows],
        11, 11)) for seed in range(3)] for key, some in allowed.items()
        if rows.any() and some.sum(1).min() >= number > 0}

# %%
runs = {"0016E5, validation": by_gap("val", *day, 20),
        "0016E5, training": by_gap("train", *day, 20),
        "0006R0, training": by_gap("train", *day[::-1], 10)}
for name, scores in runs.items():
    print(name)
    for key, several in scores.items():
        print("   ", f"{key} s away" if key in gaps else f"from {key}",
              " ".join(f"{score:.2f}" for score in several))

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 3, figsize=(7.0, 2.8), sharey=True)
for ax, (name, scores) in zip(axes, runs.items()):
    for key, several in scores.items():
        if key in gaps:
            ax.plot([key] * 3, several, "o", color="C0", ms=4, alpha=0.7,
                    label=None if key else "same drive")
        else:
            ax.axhspan(min(several), max(several), color="C1", alpha=0.6,
                       label="other drive")
    line = [sum(scores[gap]) / 3 for gap in gaps if gap in scores]
    ax.plot(gaps[:len(line)], line, color="C0", lw=1)
    ax.set_title(name, fontsize=9)
    ax.set(ylim=(0, 0.35), xlim=(-2, 32), xticks=gaps)
axes[1].set(xlabel="pictures at least so many seconds away")
axes[0].set(ylabel="mIoU")
axes[0].legend(fontsize=8, loc="lower left")
d2l.describe(axes, """Three panels of mean IoU against the seconds that the
    copied pictures are away. All three curves fall. In the two panels of
    drive 0016E5 they end clearly above the band of the other drive. In that
    of 0006R0 the curve reaches the band at 20 seconds.""")

# %%
# check: near frames help in all three, a far part of the drive in two
if real and full_run:
    for name, scores in runs.items():
        other = scores[day[1] if "0016E5" in name else day[0]]
        assert max(scores[20]) < min(scores[0])
        assert max(scores[0]) < 0.35  # no picture copies itself
        assert sum(scores[20]) / 3 < sum(scores[0]) / 3 - 0.03
        if "0016E5" in name:
            assert min(scores[30]) > max(other) + 0.04
        else:
            for gap in (20, 30):
                assert abs(sum(scores[gap]) - sum(other)) / 3 < 0.015

# %% [markdown]
# **Figure 14.9.8.** The value of near frames: three draws for each gap, 20, 20 and 10 pictures each; the band spans three draws from the other drive by day.
#
# In all three, the score falls when near frames may not be copied: a part of it comes from pictures taken a few seconds before or after.
# What is left differs.
# In drive 0016E5, for its training pictures as for the validation ones, copies from half a minute away are still clearly better than those from the other drive; in 0006R0, from twenty seconds on, they are no better.
# Near frames helped in all three settings, then; being of the same drive beyond that helped in two, which share one drive.
# So a score on these validation pictures is one for a drive that training has seen, a few seconds away.
# A score that is to hold for another street needs a split by drive: all frames of a drive on one side.
# [Section 14.11](11-fcn.ipynb) repeats the control with a trained network.

# %%
# check: sums of matrices do not depend on the batches, means of scores do
guess, truth = guesses["same drive"][0], target
batch_means, pooled = {}, {}
for size in (1, 4, len(truth)):
    batches = [confusion(g, t, 11, 11) for g, t in zip(
        guess.split(size), truth.split(size))]
    batch_means[size] = sum(map(miou, batches)) / len(batches)
    pooled[size] = miou(sum(batches))
print("mean over batches of 1, 4, all:",
      " ".join(f"{value:.3f}" for value in batch_means.values()))
assert len(set(pooled.values())) == 1
assert batch_means[1] != batch_means[len(truth)]
assert batch_means[len(truth)] == pooled[1]

# %% tags=["hide-input"]
# check: the two cars of the text; a picture finds itself and loses its void
toy = torch.zeros(2, 2, 2, dtype=torch.long)
toy[0], toy[1] = torch.tensor([[0, 0], [20, 80]]), torch.tensor(
    [[0, 0], [1, 0]])
assert abs(class_iou(toy.sum(0))[1] - 80 / 101) < 1e-12
assert (class_iou(toy[0])[1], class_iou(toy[1])[1]) == (0.8, 0)
few = torch.tensor([[0.0, 2, 1], [2, 0, 3]])  # 2 rows, 3 pictures
three = torch.tensor([[[4, 11]], [[5, 5]], [[6, 6]]])  # their masks
every = torch.ones(2, 3, dtype=torch.bool)
assert copied(few, three, every).tolist() == [[[4, 3]], [[5, 5]]]
away = every & (few > 0)
for number in (None, 2, 3):  # 3 are more than allowed in the first row
    assert copied(few, three, away, number).tolist()[0] == [[6, 6]]
lots = torch.arange(1000.0).expand(2, -1)
drawn_ = [copied(lots, torch.arange(1000)[:, None, None], lots >= 500, 9, s)
          .flatten().tolist() for s in (0, 0, 1)]
assert drawn_[0] == drawn_[1] != drawn_[2] and min(drawn_[0]) >= 500
assert len({*drawn_[0], *drawn_[2]}) == 4  # other draws for each row
far = [min(copied(lots, torch.arange(1000)[:, None, None], lots >= 500,
                  number).flatten().tolist()) for number in (500, 1)]
assert far[0] == 500 < far[1]

# %% [markdown]
# ## Where the field stands
#
# Mean IoU is still the usual score of semantic segmentation.
# Boundary IoU (Cheng and others, 2021) counts only pixels near an outline; for large objects it is much more sensitive to a sloppy outline than the IoU of whole masks.
# Panoptic quality joins classes and objects in one score (Exercise 14.9-5).
# Data have grown from hundreds of frames by way of Cityscapes, with 5000 finely labelled street scenes from 50 cities, to SA-1B, with about a billion masks on 11 million pictures; the masks of SA-1B carry no class names, and a model that was itself trained on earlier ones drew them (Kirillov and others, 2023).

# %% [markdown]
# ## Summary
#
# - Semantic labels name each pixel and cannot count; instance labels count objects; panoptic labels do both.
# - Leave void pixels out of the loss *and* the score; a batch with nothing else has the loss nan.
# - Class numbers are names: never average them, mind which pixel "nearest" takes, and fill gaps with void, not with class 0.
# - One draw of random numbers moves picture and mask; in torchvision the mask needs the type `Mask`.
# - mIoU comes from one confusion matrix of the whole set; accuracy rewards the most frequent class.
# - Frames a fraction of a second apart nearly repeat each other, and frames a few seconds apart still help: split by drive, or say that you did not.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.9-1
#
# Which augmentations are unsafe for a mask?
# Compare the shares of the classes before and after a flip, a rotation with and without `fill`, a bilinear rotation of the mask as if it were a picture, and a flip of the mask alone.
# What do the shares not notice?

# %% [markdown]
# #### Solution 14.9-1

# %%
mask = data.labels["train"][0][None]  # (1, h, w)
bilinear = v2.InterpolationMode.BILINEAR
variants = {
    "flip": v2.functional.horizontal_flip(tv_tensors.Mask(mask)),
    "rotation, gaps void": v2.RandomRotation((9, 9), fill=to_void)(
        tv_tensors.Mask(mask)),
    "rotation, gaps 0": v2.RandomRotation((9, 9))(tv_tensors.Mask(mask)),
    "rotation as a picture": v2.RandomRotation((9, 9), bilinear, fill=11)(
        mask.float()).round().long()}
before = torch.bincount(mask.flatten(), minlength=12) / mask.numel()
change = {}
for name, variant in variants.items():
    after = torch.bincount(variant.flatten(), minlength=12) / mask.numel()
    change[name] = after - before
    largest = change[name].abs().argmax().item()
    print(f"{name:22s}largest change {change[name][largest]:+.3f} "
          f"({(*CAMVID_CLASSES, 'void')[largest]})")

# %%
assert (change["flip"] == 0).all()
assert change["rotation, gaps 0"][0] > 0.02  # sky out of nothing
assert change["rotation, gaps void"][0] <= 0.01
assert change["rotation, gaps void"][11] > 0.02
inside = variants["rotation, gaps void"] != 11  # what the turn brought in
other = variants["rotation as a picture"] != variants["rotation, gaps void"]
assert (other & inside).float().mean() > 0.005
two = 5 * (mask == 5)  # tree or sky, nothing else
turned = {how: v2.functional.rotate(two.float(), 9, how).round().unique()
          for how in (v2.InterpolationMode.NEAREST, bilinear)}
assert turned[bilinear].tolist() == [0, 1, 2, 3, 4, 5]
assert turned[v2.InterpolationMode.NEAREST].tolist() == [0, 5]

# %% [markdown]
# A flip changes no share.
# The rotation without `fill` adds sky; with it, void grows, and every other share falls or hardly changes.
# The rotation as a picture puts invented classes along the edges: a mask of nothing but sky (0) and tree (5) comes back with the classes 0 to 5.
# But a flip of the mask *alone* changes no share either, although it gives each pixel the label of its mirror image: equal shares prove nothing about alignment.
# Nor do unequal ones prove a fault: the rotation with void in its gaps is safe.
# What tests alignment is the check with a picture painted by its label (C3).

# %% [markdown]
# ### Exercise 14.9-2
#
# Number the connected regions of one class in the masks of `scenes` (pixels that touch at a side or a corner are connected).
# When is the count of regions the count of objects, and when not?

# %% [markdown]
# #### Solution 14.9-2

# %% [markdown]
# Give each pixel of an object its own number, and let each pixel take the largest number of its neighbours of the same class until nothing changes.

# %%
def components(classes, num_classes=4):
    """A number for each connected region of a class, 0 for background."""
    n, h, w = classes.shape
    ids = torch.arange(1.0, h * w + 1).view(1, h, w) * (classes > 0)
    while True:
        grown = ids.clone()
        for c in range(1, num_classes):
            part = classes == c
            spread = F.max_pool2d(ids * part, 3, stride=1, padding=1)
            grown = torch.where(part, spread, grown)
        if torch.equal(grown, ids):
            return ids.long()
        ids = grown


def apart(labels):
    """Whether the boxes of a scene have a pixel between them."""
    boxes = (64 * labels[labels[:, 0] >= 0, 1:]).round()
    return all((a[:2] > b[2:]).any() or (b[:2] > a[2:]).any()
               for i, a in enumerate(boxes) for b in boxes[:i])


regions = components(scenes.classes)
counted = torch.tensor([len(ids.unique()) - 1 for ids in regions])
objects = (scenes.labels[..., 0] >= 0).sum(1)
clear = torch.tensor([apart(labels) for labels in scenes.labels])
print(f"{clear.sum()} scenes with free objects, wrong counts there:",
      (counted != objects)[clear].sum().item())
print(f"{(~clear).sum()} others: too few regions in",
      (counted < objects)[~clear].sum().item(), "and too many in",
      (counted > objects)[~clear].sum().item())

# %%
assert 20 < clear.sum() < 70 and (counted == objects)[clear].all()
assert (counted < objects)[~clear].sum() > 10
assert (counted > objects)[~clear].any()
toy = torch.tensor([[[1, 0, 0], [0, 1, 2], [3, 0, 1]]])  # corners connect
assert len(components(toy).unique()) - 1 == 3
assert len(components(toy.where(toy != 1, 0)).unique()) - 1 == 2

# %% [markdown]
# Where the boxes are apart, regions are objects.
# Two objects of one class that touch become one region; more rarely, one object cuts another in two.

# %% [markdown]
# ### Exercise 14.9-3
#
# The *Dice coefficient* of a class is $D=2|A\cap B|/(|A|+|B|)$ for the sets $A$ of true and $B$ of predicted pixels.
# Show that $D=2J/(1+J)$ with the IoU $J$, and check it.
# Do the mean of $D$ and the mean of $J$ over the classes always put two methods in the same order?

# %% [markdown]
# #### Solution 14.9-3

# %% [markdown]
# With $i=|A\cap B|$ and $u=|A\cup B|$ we have $|A|+|B|=u+i$, so $D=2i/(u+i)=2J/(J+1)$ after division by $u$.

# %%
def dice(cm):
    """Dice coefficient (k,) of each class from a confusion matrix."""
    return 2 * cm.diag().double() / (cm.sum(0) + cm.sum(1))


for several in matrices.values():
    for cm in several:
        J = class_iou(cm)
        torch.testing.assert_close(dice(cm), 2 * J / (1 + J),
                                   equal_nan=True)
steady, uneven = torch.tensor([0.5, 0.5]), torch.tensor([0.95, 0.1])
order_j = steady.mean() < uneven.mean()
order_d = ((2 * steady / (1 + steady)).mean()
           < (2 * uneven / (1 + uneven)).mean())
print("mean IoU prefers", ("steady", "uneven")[order_j],
      "- mean Dice prefers", ("steady", "uneven")[order_d])
assert order_j and not order_d

# %% [markdown]
# For one class yes, because the function rises.
# For means no: it is concave, so Dice rewards a method that is equally good on all classes more than mean IoU does.

# %% [markdown]
# ### Exercise 14.9-4
#
# Compute class weights by inverse frequency, $w_c=1/(k f_c)$, from the training labels, and by *median frequency balancing* (Eigen and Fergus): $w_c=\operatorname{median}(g)/g_c$, where $g_c$ is the share of class $c$ in the pictures that contain it.
# Show that with the first kind each class has the same weight in the weighted cross-entropy of a method that gives the same scores everywhere.

# %% [markdown]
# #### Solution 14.9-4

# %%
y = data.labels["train"]
counts = torch.stack([torch.bincount(mask.flatten(), minlength=12)[:11]
                      for mask in y]).double()  # (pictures, classes)
occurs = counts.sum(0) > 0
f = counts.sum(0) / counts.sum()
inverse = torch.where(occurs, 1 / (occurs.sum() * f), 0)
g = counts.sum(0) / ((counts > 0) * counts.sum(1, keepdim=True)).sum(0)
median = torch.where(occurs, g[occurs].median() / g, 0)
for c in f.argsort(descending=True).tolist():
    print(f"{CAMVID_CLASSES[c]:11s} share {f[c]:.3f}  inverse "
          f"{inverse[c]:6.2f}  median {median[c]:5.2f}")

# %%
assert abs((f * inverse).sum() - 1) < 1e-9  # the mean weight of a pixel
scores = torch.randn(11, dtype=torch.double,
                     generator=torch.Generator().manual_seed(0))
small = y[:4, ::4, ::4]
f = torch.bincount(small[small != 11], minlength=11).double()
there = f > 0
w = torch.where(there, f.sum() / (there.sum() * f), 0)
everywhere = scores.view(1, 11, 1, 1).expand(-1, -1, *small.shape[1:])
loss = F.cross_entropy(everywhere.repeat(len(small), 1, 1, 1), small,
                       weight=w, ignore_index=11)
each = -scores.log_softmax(0)  # the loss of a pixel of each class
torch.testing.assert_close(loss, each[there].mean())
if real and full_run:
    assert 80 < inverse.max() / inverse.min() < 140
    assert median.max() < 0.7 * inverse.max() / inverse.min() * median.min()

# %% [markdown]
# Of $n$ labelled pixels, $nf_c$ belong to class $c$; with $w_c=1/(kf_c)$ they weigh $n/k$ together, the same for each of the $k$ classes that occur.
# A method with the same scores everywhere has one loss for each class, so its weighted loss is the plain mean of these losses.
# With these weights a pixel of a bicyclist weighs about as much as a hundred of road.
# Median balancing spreads the weights less, because a class that is rare only for being in few pictures gets no extra weight for that.

# %% [markdown]
# ### Exercise 14.9-5
#
# *Panoptic quality* of a class matches predicted and true segments whose IoU exceeds 1/2, and divides the sum of the IoU of the matched pairs by the number of pairs plus half of all segments, predicted or true, without a partner.
# Why can a segment have only one partner?
# Compute it for the regions of Exercise 14.9-2 as a prediction of the objects.

# %% [markdown]
# #### Solution 14.9-5

# %% [markdown]
# Two disjoint segments cannot both cover more than half of a third one, and an IoU above 1/2 with a segment requires that.

# %%
def panoptic_quality(guess, truth, classes, k=4):
    """PQ (k,) of segments (n, h, w); both have the classes `classes`."""
    overlap, alone = torch.zeros(k), torch.zeros(k)
    pairs = torch.zeros(k)
    for p, t, c in zip(guess, truth, classes):
        for kind in c.unique().tolist():
            ours, theirs = p[c == kind].unique(), t[c == kind].unique()
            a = p.flatten() == ours[:, None]  # (segments, pixels)
            b = t.flatten() == theirs[:, None]
            inter = (a[:, None] & b).sum(2)
            iou = inter / (a[:, None] | b).sum(2)
            matched = iou > 0.5
            assert matched.sum(0).max() <= 1 and matched.sum(1).max() <= 1
            overlap[kind] += iou[matched].sum()
            pairs[kind] += matched.sum()
            alone[kind] += len(ours) + len(theirs) - 2 * matched.sum()
    return overlap / (pairs + alone / 2)


pq = panoptic_quality(regions, scenes.instances, scenes.classes)
print({kind: round(value, 2) for kind, value in zip(kinds, pq.tolist())})
perfect = panoptic_quality(scenes.instances, scenes.instances,
                           scenes.classes)
assert (perfect == 1).all() and pq[0] == 1 and (pq[1:] < 1).all()
assert (pq[1:] > 0.7).all()
free = panoptic_quality(regions[clear], scenes.instances[clear],
                        scenes.classes[clear])
assert (free == 1).all()
whole = torch.ones(1, 1, 10, dtype=torch.long)  # one object of 10 pixels
split = whole + (torch.arange(10) >= 6)  # found as 6 + 4: one pair, 0.6
assert abs(panoptic_quality(split, whole, whole)[1] - 0.6 / 1.5) < 1e-6

# %% [markdown]
# Each pixel has the right class, the mIoU would be 1, and the panoptic quality of the three kinds still stays below 1: it counts what a semantic mask cannot know.

# %% [markdown]
# ## Sources
#
# - G. J. Brostow, J. Fauqueur, R. Cipolla (2009). Semantic object classes in video: a high-definition ground truth database. Pattern Recognition Letters. https://doi.org/10.1016/j.patrec.2008.04.005: CamVid, 32 classes, over 700 frames, labelled at 1 Hz and in part 15 Hz.
# - V. Badrinarayanan, A. Kendall, R. Cipolla (2017). SegNet: a deep convolutional encoder-decoder architecture for image segmentation. IEEE TPAMI. https://arxiv.org/abs/1511.00561: the version of CamVid with eleven classes.
# - M. Everingham and others (2015). The Pascal Visual Object Classes challenge: a retrospective. International Journal of Computer Vision. https://doi.org/10.1007/s11263-014-0733-5: Pascal VOC and its segmentation task.
# - A. Kirillov, K. He, R. Girshick, C. Rother, P. Dollár (2019). Panoptic segmentation. https://arxiv.org/abs/1801.00868: the task, things and stuff, panoptic quality.
# - Z. Wang and others (2023). Revisiting evaluation metrics for semantic segmentation: optimization and evaluation of fine-grained intersection over union. https://arxiv.org/abs/2310.19252: history of the scores; values by picture and by class.
# - B. Cheng, R. Girshick, P. Dollár, A. C. Berg, A. Kirillov (2021). Boundary IoU: improving object-centric image segmentation evaluation. https://arxiv.org/abs/2103.16562: a score for outlines.
# - M. Cordts and others (2016). The Cityscapes dataset for semantic urban scene understanding. https://arxiv.org/abs/1604.01685: 5000 finely labelled pictures from 50 cities.
# - A. Kirillov and others (2023). Segment anything. https://arxiv.org/abs/2304.02643: SA-1B.
# - D. Eigen, R. Fergus (2015). Predicting depth, surface normals and semantic labels with a common multi-scale convolutional architecture. https://arxiv.org/abs/1411.4734: median frequency balancing.
