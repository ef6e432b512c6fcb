# ---
# jupyter:
#   d2l:
#     data: [cifar10-jpeg]
#     profiles:
#       gpu:
#         per_class: 1000
#         test_per_class: 200
#         long: 60
#         short: 5
#         full_epochs: 30
#         num_gpus: 1
#       smoke:
#         per_class: 12
#         test_per_class: 6
#         long: 2
#         short: 1
#         num_seeds: 1
#     rehearsal:
#       per_class: 0.02
#       test_per_class: 0.05
#       long: 0.04
#       short: 0.2
#       full_epochs: 0.04
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
# # 14.1 Image augmentation
#
# A mirrored cat is a cat, and a network that has seen only cats looking left has to be told so.
# Augmentation tells it: every training batch passes through random changes that leave the label alone.
# Which changes are true of your pictures, what do they cost, and when do they pay?
#
# **You will**
#
# - write flips, crops, colour changes and mixup from scratch, and check them against torchvision;
# - move boxes and masks along with their picture;
# - build the training loop of this chapter, which augments training batches and nothing else;
# - measure augmentation at equal updates: where it wins, where it loses, and what an untrue symmetry costs.
#
# **Cost**: less than a minute on a CPU; the profile `gpu` also trains ResNet-18; a download of tens of MB, once, of which 11 MB are kept.

# %%
import copy
from contextlib import contextmanager
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_image
from torch import nn
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init
from d2l_helpers.chapters.convolutional_neural_networks import init_he
from d2l_helpers.chapters.modern_cnns import ResNet18, augment_batch
from d2l_helpers.pictures import ShapeImages, ShapeScenes, read_images

d2l.use_style()

# %% tags=["parameters"]
per_class = 100  # training pictures of each class
test_per_class = 100
long = 15  # epochs of the comparison
short = 5  # epochs of the shorter one
num_seeds = 3
full_epochs = 0  # of ResNet-18, with num_gpus
full_train = 0  # 50000: on the official CIFAR-10, which is fetched
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## What a label does not see
#
# We take the first pictures of each class of CIFAR-10, ten classes at 32 by 32 pixels.
# This copy was saved as JPEG, which loses a little, and we take few of its pictures, so no accuracy below can be compared with a published one.

# %%
def read_cifar(split, count):
    """`count` pictures of each class, floats in [0, 1], and labels."""
    chosen = [[path for name, path in found.files.items()
               if name.startswith(f"{split}/{kind}/")][:count]
              for kind in kinds]
    images = read_images([path for paths in chosen for path in paths])
    return images / 255, torch.arange(10).repeat_interleave(count)


found = d2l.fetch("cifar10-jpeg")
kinds = sorted({name.split("/")[1] for name in found.files})
train = read_cifar("train", per_class)  # (n, 3, 32, 32), (n,)
test = read_cifar("test", test_per_class)
real = found.is_real
full_run = per_class >= 100 and long >= 15 and not num_gpus

# %%
axes = d2l.show_images(train[0][1::per_class][:10], 1, 10, scale=0.75,
                       titles=kinds)
for ax in axes:
    ax.title.set_fontsize(6)
d2l.describe(axes[0].figure, """Ten small colour pictures in a row, one of
    each class from airplane to truck.""")

# %% [markdown]
# **Figure 14.1.1.** One training picture of each class.
#
# Mirror any of them and its label stays.
# The same holds for a shift by a few pixels, a part of the picture, or another exposure.
# [Section 8.1](../08-modern-cnns/01-alexnet.ipynb) used two such changes; here we take them apart.
# Let $T$ be a random change of a picture that leaves its label alone.
# Training with augmentation minimizes
#
# $$\frac1n\sum_{i=1}^n E_T\bigl[\ell\bigl(f(T(\mathbf{x}_i)),\,y_i\bigr)\bigr], \tag{14.1.1}$$
#
# where $\mathbf{x}_i\in\mathbb{R}^{3\times h\times w}$ is one of $n$ training pictures, $y_i$ its label, $f$ the network and $\ell$ the loss of one example.
# The expectation is estimated by one draw of $T$ for each picture in each epoch.
#
# This does two things.
# It states a *prior*: the answer should be the same for $\mathbf{x}$ and $T(\mathbf{x})$.
# A convolution knows something about shifts by construction ([Section 7.1](../07-convolutional-neural-networks/01-from-dense-to-convolution.ipynb)) and nothing about mirrors or colours, which this objective teaches by example.
# And it regularizes: mirroring and shifts by up to 4 pixels in both directions make up to $2\cdot9\cdot9=162$ versions of each picture, so the training set is harder to learn by heart.

# %% [markdown]
# ## Transforms from scratch
#
# A random transform has two halves: draw the parameters, then change the pixels.
# Every function below draws from an explicit `torch.Generator`, so an experiment can be repeated.
# All of them work on the last axes `(c, h, w)`.
#
# ### Flips and crops
#
# A mirror image reverses the last axis.
# It suits most photographs; upside-down pictures suit satellite images and microscopes, but seldom streets.

# %% tags=["export"]
def hflip(img, p=1.0, generator=None):
    """Mirror left and right, with probability `p`; img (..., h, w)."""
    mirrored = torch.rand((), generator=generator) < p
    return img.flip(-1) if mirrored else img
# %%
# check 14.1-C1: twice is the identity; torchvision does the same
X = train[0][:4]
assert torch.equal(hflip(hflip(X)), X)
assert torch.equal(hflip(X), v2.functional.horizontal_flip(X))
rng = torch.Generator().manual_seed(0)
flipped = [not torch.equal(hflip(X[0], 0.25, rng), X[0])
           for _ in range(1000)]
assert abs(sum(flipped) / 1000 - 0.25) < 0.05
assert torch.equal(hflip(X, p=0.0), X)
again = torch.Generator()
pairs = [[hflip(X[0], 0.5, again.manual_seed(s)) for _ in range(2)]
         for s in range(20)]
assert all(torch.equal(*pair) for pair in pairs)  # only our generator

# %% [markdown]
# A *random resized crop* cuts out a part of random area and shape and enlarges it to the input size of the network.
# It changes the place, the scale and the proportions of an object at once.
# We draw an area of 10 to 100 % of the picture, uniformly, and a ratio of width to height from $\frac12$ to 2, uniformly on a logarithmic scale, so that wide and tall are equally likely.
# (The defaults of torchvision are 8 to 100 %, and $\frac34$ to $\frac43$.)
# If the picture has $h\times w$ pixels and $s$ is the share of the area and $r$ the ratio, the part has height $\sqrt{shw/r}$ and width $\sqrt{shw\,r}$.
# A quarter of a $100\times100$ picture at $r=4$ would be 25 pixels high and 100 wide.
# Not every draw fits into the picture, so we draw again.

# %% tags=["export"]
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
# %%
# check 14.1-C2: areas in [0.1, 1] and ratios in [0.5, 2], inside
scale, ratio = (0.1, 1.0), (0.5, 2.0)
shares = {}
for h, w in ((128, 128), (96, 200)):
    boxes = torch.tensor([crop_box(h, w, scale, ratio, rng)
                          for _ in range(1000)])
    top, left, height, width = boxes.T
    shares[h, w] = height * width / (h * w)
    assert (top >= 0).all() and (top + height <= h).all()
    assert (left >= 0).all() and (left + width <= w).all()
    assert scale[0] <= shares[h, w].min() and shares[h, w].max() <= scale[1]
    assert ratio[0] <= (width / height).min() < 0.55
    assert 1.8 < (width / height).max() <= ratio[1]
    assert shares[h, w].min() < 0.11 and (top + left == 0).any()
    assert ((top + height == h) & (height < h)).any()
    assert ((left + width == w) & (width < w)).any()
    free = (height < 0.9 * h) & (width < 0.9 * w)  # room to move
    spots = torch.stack([top / (h - height), left / (w - width)])[:, free]
    assert (spots.mean(1) - 0.5).abs().max() < 0.08
    assert spots.corrcoef()[0, 1].abs() < 0.15  # rows and columns apart
mean_share = shares[128, 128].mean().item()
wide = np.mean([w > h for _, _, h, w in (
    crop_box(128, 128, (0.1, 0.4), ratio, rng) for _ in range(1000))])
assert abs(wide - 0.5) < 0.06  # wide and tall are equally likely
print(f"mean share of the area: drawn 0.55, kept {mean_share:.2f}")
assert 0.40 < mean_share < 0.48
assert crop_box(20, 100, (0.9, 1.0), ratio) == (0, 30, 20, 40)  # no such
assert crop_box(100, 20, (0.9, 1.0), ratio) == (30, 0, 40, 20)
default = v2.RandomResizedCrop(32)
assert default.scale == (0.08, 1.0) and default.ratio == (3 / 4, 4 / 3)

# %% [markdown]
# Drawing again has a side effect that the usual description hides: large parts fit less often, so the areas that are used are smaller on average than the ones first drawn.
#
# ### Composition, and whose random numbers
#
# Transforms are chained.
# A chain also meets the training loop below, which hands over both pictures and labels.

# %% tags=["export"]
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
# %% [markdown]
# `per_image` repairs a quiet mistake.
# A transform that is written for one picture also accepts a batch, and then draws once for all of it: every picture of the batch is cropped at the same place.
# (The transforms of torchvision behave in the same way.)
# `augment_batch` of Section 8.1, a flip with probability $\frac12$ and a shift by up to an eighth of the size, draws for each picture and needs no loop.

# %%
# check 14.1-C4, first part: one seed, one result; a draw for each picture
copies = train[0][:1].expand(20, -1, -1, -1)
crop = partial(random_resized_crop, size=32)
chain = Compose(per_image(crop), augment_batch)


def seeded(transform, seed):
    return transform(copies, generator=torch.Generator().manual_seed(seed))


state = torch.get_rng_state()
assert torch.equal(seeded(chain, 1), seeded(chain, 1))
assert not torch.equal(seeded(chain, 1), seeded(chain, 2))
assert torch.equal(state, torch.get_rng_state())  # only our generator
together, apart = seeded(crop, 1), seeded(per_image(crop), 1)
assert (together == together[:1]).all()  # twenty times the same part
assert len({part.numpy().tobytes() for part in apart}) == 20
labels = torch.arange(20)
out = chain(copies, labels, labels + 1, generator=rng)
assert out[1] is labels and len(out) == 3 and out[0].shape == copies.shape
assert torch.equal(copies, train[0][:1].expand_as(copies))  # unchanged

# %% tags=["hide-input"]
# check: the crop is the box, resized; order of the steps; any axes in front
box = crop_box(32, 32, scale, ratio, torch.Generator().manual_seed(5))
seed5 = torch.Generator().manual_seed(5)
batch = train[0][:6].reshape(2, 3, 3, 32, 32)
own = random_resized_crop(batch, 20, scale, ratio, seed5)
assert own.shape == (2, 3, 3, 20, 20)
torch.testing.assert_close(own, v2.functional.resized_crop(
    batch, *box, [20, 20], antialias=True), atol=1e-6, rtol=0)


def double(X, generator=None):
    return 2 * X


def add(X, generator=None):
    return X + torch.rand((), generator=generator)


one = torch.ones(())
total = Compose(double, add)(one, generator=torch.Generator().manual_seed(3))
assert total == 2 + torch.rand((), generator=torch.Generator().manual_seed(3))

# %%
photo = torch.from_numpy(load_sample_image("china.jpg").copy())
photo = F.interpolate(photo.permute(2, 0, 1)[None, :, :420, 60:480] / 255.0,
                      (60, 60), mode="area")[0]  # (3, 60, 60)

# %% tags=["export"]
def show_augmented(img, aug, rows=2, cols=4, seed=0, scale=1.3):
    """Draw rows x cols results of aug(img, generator=...); returns axes."""
    generator = torch.Generator().manual_seed(seed)
    pictures = [aug(img, generator=generator) for _ in range(rows * cols)]
    return d2l.show_images(pictures, rows, cols, scale=scale)
# %%
flip_crop = Compose(partial(hflip, p=0.5),
                    partial(random_resized_crop, size=60))
axes = show_augmented(photo, flip_crop, 2, 5, scale=1.1)
axes[0].images[0].set_data(photo.permute(1, 2, 0).numpy())  # not drawn
d2l.describe(axes[0].figure, """A photograph of a Chinese palace, top left,
    and nine random versions of it: parts of different size and shape, all
    enlarged to the same square, some of them mirrored.""")

# %% [markdown]
# **Figure 14.1.2.** Top left the picture, then nine draws of flip and crop.
# Most of these parts cut off the top of the building; with a small least area, a part can miss the object, and then picture and label part company.
#
# ### Colours
#
# *Colour jitter* changes brightness, contrast and saturation by random factors, by convention uniform in $[1-\delta, 1+\delta]$ with a strength $\delta$ up to about $\frac12$.
# Each is a blend of the picture $\mathbf{x}$ with a degenerate one $\mathbf{g}$,
#
# $$\operatorname{blend}(\mathbf{x}) = a\,\mathbf{x} + (1-a)\,\mathbf{g}, \tag{14.1.2}$$
#
# where $a\ge0$ is the factor (0 gives $\mathbf{g}$, 1 the picture, more exaggerates), and $\mathbf{g}$ is black for brightness, the mean grey of the picture for contrast, and its grey version, pixel by pixel, for saturation.
# The result is clipped to $[0,1]$ after each blend.
# A pixel 0.5 on a mean of 0.3 becomes $1.5\cdot0.5-0.5\cdot0.3=0.6$ at $a=1.5$.
# The fourth change is no factor.
# Hue is an angle on the circle of colours, so it is shifted, by at most half a turn.
# A turn keeps the largest and the smallest of the three values of a pixel; which channels hold them can change, and the third value moves between them.

# %% tags=["export"]
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
# %% [markdown]
# The blends come first, then the hue; `color_jitter` draws the strengths.
# (torchvision also draws the order.)

# %% tags=["export"]
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
# %%
# check 14.1-C3: a full turn is the identity, saturation 0 is grey
X = torch.rand(12, 3, 8, 8, generator=rng)
for turn in (1.0, -1.0):
    torch.testing.assert_close(shift_hue(X, turn), X, atol=1e-3, rtol=0)
assert (shift_hue(X, 0.5) - X).abs().max() > 0.1
gray = adjust_color(X, saturation=0.0)
assert torch.equal(gray[:, 0], gray[:, 1])
assert torch.equal(gray[:, 0], gray[:, 2]) and gray.std() > 0.1
blend = adjust_color(torch.tensor([0.1, 0.5]).expand(3, 1, 2), contrast=1.5)
torch.testing.assert_close(blend[0, 0], torch.tensor([0.0, 0.6]))

# %%
# check 14.1-C1, second part: brightness and the rest as in torchvision
for name, factors in (("brightness", (0.6, 1.4)), ("contrast", (0.5, 1.5)),
                      ("saturation", (0.0, 1.5))):
    theirs = getattr(v2.functional, f"adjust_{name}")
    for a in factors:
        torch.testing.assert_close(adjust_color(X, **{name: a}),
                                   theirs(X, a), atol=1e-3, rtol=0)
for turn in (-0.4, 0.1, 0.5):
    torch.testing.assert_close(
        shift_hue(X, turn), v2.functional.adjust_hue(X, turn), atol=1e-3,
        rtol=0)
torch.testing.assert_close(adjust_color(X), X)
theirs = X  # all four, in our order
for name, a in (("brightness", 1.6), ("contrast", 1.5),
                ("saturation", 0.4), ("hue", 0.2)):
    theirs = getattr(v2.functional, f"adjust_{name}")(theirs, a)
torch.testing.assert_close(adjust_color(X, 1.6, 1.5, 0.4, 0.2), theirs,
                           atol=1e-3, rtol=0)

# %% tags=["hide-input"]
# check: color_jitter draws each of its four numbers from its interval
gray_picture = torch.full((3, 2, 2), 0.4)
levels = torch.stack([color_jitter(gray_picture, b=0.5, generator=rng)
                      for _ in range(400)]) / 0.4
assert 0.5 <= levels.min() < 0.52 and 1.48 < levels.max() <= 1.5
assert abs(levels.mean() - 1) < 0.05
half = torch.tensor([0.25, 0.75]).expand(3, 1, 2)
spread = torch.stack([color_jitter(half, c=0.5, generator=rng)[0, 0]
                      for _ in range(400)]).diff().abs() / 0.5
assert 0.5 <= spread.min() < 0.52 and 1.48 < spread.max() < 1.501
red = torch.tensor([0.7, 0.5, 0.5]).view(3, 1, 1)
strength = torch.stack([color_jitter(red, s=0.5, generator=rng)
                        for _ in range(400)])
strength = (strength.amax(1) - strength.amin(1)) / 0.2
assert 0.49 < strength.min() < 0.52 and 1.48 < strength.max() < 1.51
turned = torch.stack([color_jitter(red, h=0.25, generator=rng)
                      for _ in range(400)])  # a red stays off cyan
assert (turned[:, 0] >= turned[:, 1:].amin(1) + 0.09).all()
assert (turned[:, 1] > 0.69).any() and (turned[:, 2] > 0.69).any()
assert torch.equal(color_jitter(red, generator=rng), red)
assert torch.equal(*(color_jitter(red, 0.5, 0.5, 0.5, 0.25,
                                  again.manual_seed(1)) for _ in range(2)))

# %%
flower = torch.from_numpy(load_sample_image("flower.jpg").copy())
flower = F.interpolate(flower.permute(2, 0, 1)[None, :, :420, 100:520]
                       / 255.0, (60, 60), mode="area")[0]  # (3, 60, 60)
axes = show_augmented(flower, partial(color_jitter, b=0.5, c=0.5, s=0.5,
                                      h=0.5), 2, 5, seed=3, scale=1.15)
axes[0].images[0].set_data(flower.permute(1, 2, 0).numpy())  # not drawn
d2l.describe(axes[0].figure, """An orange flower on a dark ground, top left,
    and nine versions of it: darker and brighter, pale and vivid, in green,
    blue, yellow and purple.""")

# %% [markdown]
# **Figure 14.1.3.** Top left the picture, then nine draws of colour jitter with strength $\frac12$ for all four (half a turn for the hue, so all hues occur).
# If the colour decides the label (this flower's kind, ripe or unripe), the hue must stay.

# %% tags=["hide-input"]
def draw(fig, hue, saturation, brightness):
    ax = fig.subplots()
    changed = adjust_color(flower, brightness, 1.0, saturation, hue)
    ax.imshow(changed.permute(1, 2, 0).clamp(0, 1).numpy())
    ax.axis("off")


d2l.sliders(draw, """One flower whose hue, saturation and brightness are set
    by three sliders.""", figsize=(1.6, 1.6), hue=[-0.3, 0, 0.3],
    saturation=[0, 1, 2], brightness=[0.5, 1, 1.5])

# %% [markdown]
# **Figure 14.1.4.** Hue is shifted by a share of a turn; the other two are factors.
#
# ## Boxes and masks move along
#
# When the label is a place, a flip changes it.
# A box $(x_1, y_1, x_2, y_2)$ in a picture of width $w$ becomes $(w-x_2, y_1, w-x_1, y_2)$, and a mask, one class for each pixel, is mirrored like the picture, without ever mixing two classes.
# `torchvision.transforms.v2` takes care of this if each part says what it is, by a type from `tv_tensors`:

# %%
scenes = ShapeScenes(8, seed=5)
scene = max(range(8), key=lambda i: (scenes.labels[i, :, 0] >= 0).sum())
rows = scenes.labels[scene]  # (3, 5): class, box
rows = rows[rows[:, 0] >= 0]
sample = {
    "image": tv_tensors.Image(scenes.images[scene]),
    "boxes": tv_tensors.BoundingBoxes(64 * rows[:, 1:], format="XYXY",
                                      canvas_size=(64, 64)),
    "mask": tv_tensors.Mask(scenes.instances[scene]),
    "labels": rows[:, 0].long()}
torch.manual_seed(0)
flipped = v2.RandomHorizontalFlip(p=1)(sample)
cut = v2.Compose([v2.RandomResizedCrop(64, scale=(0.3, 0.5)),
                  v2.SanitizeBoundingBoxes()])
crops = [cut(sample) for _ in range(6)]

# %% tags=["hide-input"]
shown = {"as drawn": sample, "flipped": flipped, "a part": crops[0],
         "another": crops[1]}
axes = d2l.show_images([part["image"] for part in shown.values()], 1, 4,
                       titles=list(shown), scale=1.4)
for ax, part in zip(axes, shown.values()):
    mask = part["mask"].numpy()
    for number in np.unique(mask[mask > 0]):
        ax.contour(mask == number, [0.5], colors="black", linewidths=1.5)
    for x1, y1, x2, y2 in part["boxes"].tolist():
        ax.add_patch(plt.Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1,
                                   fill=False, lw=2, ec="white"))
d2l.describe(axes[0].figure, """A drawn scene with a few shapes, each in a
    white box and with the black outline of its mask; the same mirrored,
    with boxes and masks mirrored too; and two parts of it, where boxes end
    at the rim.""")

# %% [markdown]
# **Figure 14.1.5.** One scene with its boxes (white) and the outlines of its masks (black), mirrored, and cropped twice.

# %%
# check: boxes and masks after a flip and after crops
def around(mask, number):
    """The tight box (x1, y1, x2, y2) of one number in a mask."""
    y, x = (mask == number).nonzero(as_tuple=True)
    return torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])


x1, y1, x2, y2 = sample["boxes"].T
assert torch.equal(torch.stack([64 - x2, y1, 64 - x1, y2], 1),
                   flipped["boxes"].as_subclass(torch.Tensor))
for i, box in enumerate(flipped["boxes"].round()):
    assert torch.equal(around(flipped["mask"], i + 1).float(), box)
assert torch.equal(flipped["mask"], sample["mask"].flip(-1))
for part in crops:
    assert set(part["mask"].unique().tolist()) <= {0, 1, 2, 3}
    assert len(part["boxes"]) == len(part["labels"])
assert 0 < min(len(part["boxes"]) for part in crops) < len(rows)
plain = v2.RandomHorizontalFlip(p=1)(
    sample | {"boxes": 64 * rows[:, 1:]})  # an ordinary tensor
assert torch.equal(plain["boxes"], 64 * rows[:, 1:])  # left behind
place = torch.arange(64.0) - 31.5
disc = place[:, None] ** 2 + place**2 < 20**2  # rows 12 to 51
piece = around(disc[:, 46:], 1)  # what a crop leaves of it
assert around(disc, 1)[1] == 12 and piece[1] > 15

# %% [markdown]
# The ordinary tensor in this check is a trap: beside a picture it passes through unchanged, without a warning, so boxes that have lost their type stay where they were.
# After a crop there is more to do.
# A box is cut off at the rim, and one that lies outside has no area left; `SanitizeBoundingBoxes` removes it together with its label.
# And a cut box need not fit tightly: of a disc, the rim may leave a narrow piece.
# Sections 14.6 and 14.9 augment real boxes and masks.
#
# ### Workers and seeds
#
# The transforms of torchvision draw from PyTorch's global generator.
# When a `DataLoader` loads with several processes, it gives each worker a seed of its own for the global generators of PyTorch, Python and NumPy.
# A generator that the dataset itself keeps is another matter.
# Each worker receives a copy of it, state and all, whether it is forked (for a long time the default on Linux) or started afresh with a pickled data set, so all draw the same numbers.
# And unless `persistent_workers` keeps them alive, each epoch starts new workers from the same original, so every epoch repeats the first.
# We make the copies by hand:

# %%
class Noisy:
    """A dataset that keeps a generator."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __getitem__(self, i):
        return torch.rand((), generator=self.generator).item()


original, drawn = Noisy(), []
for epoch in range(2):
    for worker in range(2):
        received = copy.deepcopy(original)  # what a forked worker gets
        drawn.append([received[i] for i in range(3)])
        print(f"epoch {epoch}, worker {worker}:",
              *(f"{number:.3f}" for number in drawn[-1]))
assert all(numbers == drawn[0] for numbers in drawn)

# %% [markdown]
# So in a worker draw from the global generator, or make your own there from `torch.initial_seed()`.
# In this chapter a data set fits into memory and whole batches are augmented in the training process, on its device, so the problem does not arise.
#
# ## The training loop of this chapter
#
# ### Scores and modes
#
# A score is a number for each example, so that its mean is right also when the last batch is smaller.
# Evaluation needs two switches, evaluation mode and no gradients, and must put back what it found: a network may have frozen parts that stay in evaluation mode ([Section 14.2](02-fine-tuning.ipynb)).

# %% tags=["export"]
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
# %% tags=["hide-input"]
# check: the promises of accuracy, evaluating and evaluate
scores = torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
assert accuracy(scores, torch.tensor([0, 0, 1])).tolist() == [1, 0, 0]
shares_ = torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.0, 1.0]])
assert accuracy(scores, shares_).tolist() == [0.75, 0.25, 0]
maps = torch.stack([scores, -scores], -1)  # (3, 2, 2), two pixels
assert accuracy(maps, torch.tensor([[0, 0], [1, 0], [0, 1]])).tolist() == [
    [1, 0], [1, 1], [1, 1]]
assert accuracy(maps, torch.stack([shares_, shares_], -1)).tolist() == [
    [0.75, 0.25], [0.25, 0.75], [0, 1]]

torch.manual_seed(0)
drop = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.BatchNorm1d(8),
                     nn.Linear(8, 2))
drop[2].eval()  # a frozen part
modes = [module.training for module in drop.modules()]
try:
    with evaluating(drop) as inside:
        assert inside is drop
        assert not any(module.training for module in drop.modules())
        assert not drop(torch.ones(2, 3)).requires_grad
        raise KeyError
except KeyError:
    pass
assert modes == [module.training for module in drop.modules()]
assert torch.is_grad_enabled()
points, marks = torch.randn(7, 3), torch.tensor([0, 1, 0, 1, 1, 0, 0])
value = evaluate(drop, (points, marks), batch_size=3)  # 3, 3 and 1
with evaluating(drop):
    assert abs(accuracy(drop(points), marks).mean() - value) < 1e-6
assert modes == [module.training for module in drop.modules()]
assert value == evaluate(drop, (points, marks), batch_size=3)  # no dropout

# %% [markdown]
# ### The loop
#
# The loop is the one of [Section 3.4](../03-linear-regression/04-linear-regression-scratch.ipynb) with three additions: a learning rate that rises to a peak and falls again (one cycle, [Section 12.11](../12-optimization/11-lr-scheduling.ipynb)), changed after every batch; a place for augmentation; and hooks for later sections, to freeze parts and to average weights.
# Batch order and augmentation have generators of their own, so two runs with one seed see the same batches in the same order, whether they are augmented or not.
# The first half is one pass over the batches:

# %% tags=["export"]
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

# %% [markdown]
# The second half sets up generators, schedule and history.

# %% tags=["export"]
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
# %% tags=["hide-input"]
# check 14.1-C4, second part: what the loop does to its inputs
class Spy(nn.Module):
    """A linear layer with dropout that notes what it sees, and its mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.drop = nn.Linear(3, 2), nn.Dropout(0.5)
        self.seen = []

    def forward(self, X):
        self.seen.append((self.training, X))
        return self.layer(self.drop(X))


def lifted(X, y, generator):
    """An augmentation that cannot be overlooked."""
    return X + 100 + torch.rand(X.shape, generator=generator), y

# %% tags=["hide-input"]
cpu = torch.device("cpu")
points = torch.arange(21.0).reshape(7, 3)
pair, other = (points, marks), (points[:4] / 50, marks[:4])


def spied(seed=0, augment=lifted, lr=1e-3, **options):
    """Train a Spy for three epochs of batches of 3, 3 and 1."""
    spy = Spy()
    sgd = torch.optim.SGD(spy.parameters(), lr)
    torch.seed()  # the loop must set the seed itself
    past = train_ch14(spy, pair, other, F.cross_entropy, sgd, 3, cpu, 3,
                      augment, seed=seed, **options)
    return spy, past


spy, past = spied()
fed = [X for training, X in spy.seen if training]
held = [X for training, X in spy.seen if not training]
assert [len(X) for X in fed] == 3 * [3, 3, 1] and len(held) == 3
assert all(X.min() >= 100 for X in fed)  # training batches only
assert all(torch.equal(X, other[0]) for X in held)
assert torch.equal(points, torch.arange(21.0).reshape(7, 3))
assert [len(past[key]) for key in ("loss", "train", "test")] == [3, 3, 3]
twin, same = spied()
assert past == same  # with dropout and augmentation
assert all(map(torch.equal, spy.parameters(), twin.parameters()))
later, past1 = spied(seed=1)
assert past1 != past
noises = [torch.cat([X for training, X in seen if training]).frac()
          for seen in (spy.seen, later.seen)]
assert (noises[0] - noises[1]).abs().max() > 0.1  # other changes, too
bare = [X for training, X in spied(augment=None)[0].seen if training]
for X, Z in zip(bare, fed, strict=True):  # the same pictures, in order
    assert torch.equal((Z - 100).floor(), X)
orders = [torch.cat(bare[i:i + 3])[:, 0].tolist() for i in (0, 3, 6)]
assert all(sorted(order) == points[:, 0].tolist() for order in orders)
assert orders[0] != orders[1] != orders[2]  # shuffled anew

# %% tags=["hide-input"]
# check: one cycle with a step for each batch; modes, hooks and means
spy, rates, calls = Spy(), [], []
groups = [{"params": [spy.layer.weight]}, {"params": [spy.layer.bias],
                                           "lr": 0.5}]
sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.7)


def note(net):
    rates.append([group["lr"] for group in sgd.param_groups])
    assert all(group["momentum"] == 0.7 for group in sgd.param_groups)


def mode(net):
    calls.append(net)
    net.train()
    net.drop.eval()


result = train_ch14(spy, pair, None, F.cross_entropy, sgd, 4, cpu, 3,
                    set_mode=mode, after_step=note)
rates = torch.tensor(rates)  # the rate after each step
assert rates.shape == (12, 2) and len(calls) == 4 and calls[0] is spy
torch.testing.assert_close(rates[:, 1], 5 * rates[:, 0])
high = int(rates[:, 0].argmax())
assert 1 <= high <= 4 and rates[high, 0] > 0.09
assert (rates[:high + 1, 0].diff() > 0).all()
assert (rates[high:-1, 0].diff() < 0).all() and rates[-2, 0] < 1e-4
assert [group["lr"] for group in sgd.param_groups] == [0.1, 0.5]
assert result["test"] == [] and len(result["train"]) == 4
assert not spy.drop.training and spy.training

# %% tags=["hide-input"]
still, means = spied(lr=0.0, augment=None, set_mode=nn.Module.eval)
with evaluating(still):  # nothing was learned: the means are exact
    loss = F.cross_entropy(still(points), marks).item()
    right = accuracy(still(points), marks).mean().item()
assert all(abs(value - loss) < 1e-4 for value in means["loss"])
assert all(abs(value - right) < 1e-6 for value in means["train"])
assert abs(means["test"][0] - evaluate(still, other)) < 1e-6
assert spied(score=None)[1].keys() == {"loss", "train", "test"}
assert spied(score=None)[1]["train"] == spied(score=None)[1]["test"] == []
before = Spy().layer.weight
torch.testing.assert_close(before, still.layer.weight)
assert not torch.equal(before, spy.layer.weight)
usual = torch.optim.SGD(spy.parameters(), 0.1)  # without momentum
torch.optim.lr_scheduler.OneCycleLR(usual, 0.1, 10)
assert usual.param_groups[0]["momentum"] > 0.8  # the default of PyTorch
# %% [markdown]
# Two details are easy to get wrong.
# PyTorch's one-cycle schedule also moves the momentum by default, which turns plain SGD into SGD with momentum; here it leaves it alone.
# And the schedule ends at a rate of almost 0, so the loop puts the peaks back, or a second training would start from there.
#
# **Mean or sum.**
# Our losses are means over the batch.
# Code that sums them needs other numbers for the same training.
# For $B$ examples, SGD with the summed loss, rate $\eta$ and weight decay $\omega$ takes the step
#
# $$\mathbf{w}-\eta\,(B\,\bar{\mathbf{g}}+\omega\,\mathbf{w}) = \mathbf{w}-\eta B\,\bigl(\bar{\mathbf{g}}+\tfrac{\omega}{B}\,\mathbf{w}\bigr), \tag{14.1.3}$$
#
# where $\mathbf{w}$ are the weights and $\bar{\mathbf{g}}$ is the mean gradient, of the same shape.
# That is the step of the mean at $B$ times the rate and a $B$-th of the decay: with $B=128$, the pair $5\cdot10^{-5}$ and $10^{-3}$ becomes $6.4\cdot10^{-3}$ and $7.8\cdot10^{-6}$.
# Adam divides by the size of the gradient, so there, without decay, the factor cancels up to $\epsilon$; AdamW applies its decay apart from the gradient, so for it nothing has to be converted.

# %%
def one_step(reduction, make):
    """Weights after one step on a batch of 128."""
    torch.manual_seed(0)
    layer = nn.Linear(20, 10)
    X, y = torch.randn(128, 20), torch.arange(128) % 10
    optimizer = make(layer.parameters())
    F.cross_entropy(layer(X), y, reduction=reduction).backward()
    optimizer.step()
    return layer.weight.detach()


def sgd_step(reduction, lr, weight_decay):
    return one_step(reduction, partial(torch.optim.SGD, lr=lr,
                                       weight_decay=weight_decay))


summed = sgd_step("sum", 5e-5, 1e-3)
torch.testing.assert_close(sgd_step("mean", 6.4e-3, 1e-3 / 128), summed,
                           atol=1e-7, rtol=0)
wrong = sgd_step("mean", 6.4e-3, 1e-3)  # the decay left as it was
assert (wrong - summed).abs().max() > 5e-7
adamw = [one_step(reduction, partial(torch.optim.AdamW, lr=0.01,
                                     weight_decay=0.1))
         for reduction in ("mean", "sum")]
torch.testing.assert_close(*adamw, atol=1e-5, rtol=0)

# %% [markdown]
# ## Does it pay?
#
# We compare at equal updates: the same network, pictures, epochs, schedule and seeds; only the augmentation differs.
# The network has three convolutions.

# %%
device = d2l.try_device() if num_gpus else cpu


def small_cnn(seed):
    """Three convolutions with stride 2 for pictures of 32 x 32."""
    torch.manual_seed(seed)
    layers, channels = [], (3, 8, 24, 48)
    for c_in, c_out in zip(channels, channels[1:]):
        layers += [nn.Conv2d(c_in, c_out, 3, 2, padding=1, bias=False),
                   nn.BatchNorm2d(c_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 16, 10))
    return net.to(memory_format=torch.channels_last)


def compare(arms, train, test, epochs):
    """{arm: [(network, history) of each seed]}, all under one recipe."""
    result = {}
    for name, augment in arms.items():
        result[name] = []
        for seed in range(num_seeds):
            net = small_cnn(seed)
            adamw = torch.optim.AdamW(net.parameters(), 0.01)
            history = train_ch14(
                net, train, test, F.cross_entropy, adamw, epochs, device,
                100, augment, seed=seed)
            result[name].append((net, history))
    return result


def final(runs, key="test"):
    """The last number of each seed, (seeds,)."""
    return torch.tensor([history[key][-1] for _, history in runs])

# %% tags=["rtol=0.15"]
flip_shift = Compose(augment_batch)
arms = {"plain": None, "flip + shift": flip_shift}


def report(epochs):
    """Training and test accuracy of each seed at the end."""
    for name, runs in by_epochs[epochs].items():
        print(f"{epochs:2d} epochs, {name:12s} train",
              *(f"{a:.2f}" for a in final(runs, "train")), " test",
              *(f"{a:.3f}" for a in final(runs)))


by_epochs = {long: compare(arms, train, test, long)}
report(long)

# %% tags=["rtol=0.15"]
by_epochs[short] = compare(arms, train, test, short)
report(short)

# %% tags=["chaotic", "hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.4, 2.7), sharey=True)
for ax, key in zip(axes, ("train", "test")):
    for color, (name, runs) in zip(("C0", "C1"), by_epochs[long].items()):
        curves = torch.tensor([history[key] for _, history in runs])
        steps = range(1, long + 1)
        ax.plot(steps, curves.T, color=color, lw=0.7, alpha=0.5)
        ax.plot(steps, curves.mean(0), color=color, label=name, lw=2,
                ls="-" if name == "plain" else "--")
    ax.set(xlabel="epoch", title=f"{key} accuracy", ylim=(0, 1.03))
    ax.xaxis.get_major_locator().set_params(integer=True)
axes[0].legend()
d2l.describe(axes[0].figure, """Left, training accuracy: the plain arm
    reaches 1, the augmented one about one half. Right, test accuracy: both
    rise alike at first; the plain arm ends near one third, the augmented
    one goes on rising and ends above 0.4.""")

# %% [markdown]
# **Figure 14.1.6.** Accuracy on training batches as they were trained on, and on the test pictures; thin lines are seeds, thick lines their mean.

# %%
# check 14.1-C6: at equal updates, three seeds; long and short
gains = {epochs: final(result["flip + shift"]) - final(result["plain"])
         for epochs, result in by_epochs.items()}
if real and full_run:
    assert (gains[long] > 0.05).all()
    assert final(by_epochs[long]["plain"], "train").min() >= 0.98
    assert final(by_epochs[long]["flip + shift"], "train").max() <= 0.65
    assert gains[short].mean().abs() < 0.03
    longer = {name: (final(by_epochs[long][name])
                     - final(by_epochs[short][name])).mean() for name in arms}
    assert longer["flip + shift"] > 0.05 and longer["plain"] < 0.03

# %% [markdown]
# On 1000 pictures, with 15 epochs, flips and shifts raise the test accuracy by more than five hundredths in each of three seeds.
# The plain network has learned its pictures by heart, and its training accuracy says nothing any more; that of the augmented one stays below 0.65, on pictures most of which it sees for the first time in this form.
# With 5 epochs the advantage is gone: the mean difference of the seeds is less than three hundredths in size.
# The longer training made the difference: on average over the seeds it raised the augmented network by more than five hundredths, and the plain one by less than three.
# In the longer run the plain network also learned the rest of its training pictures, and that hardly helped on the test.
# A short run would have called the augmentation useless, so do not choose or tune it there.
#
# ## A symmetry that is none
#
# Turn a picture of a ship by a right angle: we still recognize it, so the label stays.
# Is that enough?
# We add random quarter turns to flip and shift, at 5 epochs.
# There are two controls.
# In the first, drawn shapes replace the photographs: discs, rings, crosses and bars, each at a random angle in training and test pictures, so a turned shape is as likely as the original.
# (Their backgrounds are upright photographs, which get turned too; but they tell nothing about the label.)
# In the second, the networks stay and the photographs of the test are turned, by one, two and three right angles.

# %%
def quarter_turns(X, generator=None):
    """Each picture (n, c, h, h) turned by 0, 90, 180 or 270 degrees."""
    turned = torch.stack([X.rot90(k, (-2, -1)) for k in range(4)])
    which = torch.randint(4, (len(X),), generator=generator)
    return turned[which, torch.arange(len(X))]


few = train[0][:1].expand(200, -1, -1, -1)
views = {X.numpy().tobytes() for X in quarter_turns(few, rng)}
assert views == {train[0][0].rot90(k, (1, 2)).contiguous().numpy()
                 .tobytes() for k in range(4)}

# %% tags=["rtol=0.15"]
shapes = [(data.images / 255, data.labels) for data in (
    ShapeImages(10 * per_class, [0, 3, 4, 7], seed=1),
    ShapeImages(10 * test_per_class, [0, 3, 4, 7], seed=2))]
turns = {"flip + shift": flip_shift,
         "with turns": Compose(augment_batch, quarter_turns)}
nets = by_epochs[short] | compare({"with turns": turns["with turns"]},
                                  train, test, short)
on_shapes = compare(turns, *shapes, short)
other_test = [torch.cat([test[0].rot90(k, (-2, -1)) for k in (1, 2, 3)])
              .to(device), test[1].repeat(3).to(device)]
turned = {name: {
    "photographs": final(nets[name]),
    "shapes": final(on_shapes[name]),
    "turned photographs": torch.tensor([evaluate(net, other_test)
                                        for net, _ in nets[name]])}
    for name in turns}
for what in turned["with turns"]:
    for name in turns:
        print(f"{what:19s}{name:13s}",
              *(f"{a:.3f}" for a in turned[name][what]))

# %% tags=["chaotic", "hide-input"]
_, ax = plt.subplots(figsize=(6.2, 3.0))
rows = [(f"photographs, {epochs} epochs, {name}", final(runs))
        for epochs in by_epochs for name, runs in by_epochs[epochs].items()]
rows.append((f"photographs, {short} epochs, with turns",
             turned["with turns"]["photographs"]))
rows += [(f"{what}, {short} epochs, {name}", turned[name][what])
         for what in ("shapes", "turned photographs") for name in turns]
for i, (name, values) in enumerate(rows):
    color = "C1" if "flip" in name else "C2" if "with turns" in name else "C0"
    ax.plot(values, [-i] * num_seeds, "o", alpha=0.7, color=color)
ax.set_yticks([-i for i in range(len(rows))],
              labels=[name for name, _ in rows], fontsize=8)
ax.set(xlabel="test accuracy", xlim=(0, 0.6))
d2l.describe(ax, """Nine rows of three dots. Photographs, fifteen epochs:
    flip and shift lies clearly to the right of plain. Five epochs: the two
    overlap, and with turns lies clearly to the left. Shapes: with turns
    lies no further left. Turned photographs: it lies to the right.""")

# %% [markdown]
# **Figure 14.1.7.** All arms, a dot for each of three seeds.

# %%
# check 14.1-C7: turns hurt on photographs, and not in the two controls
cost = {what: turned["flip + shift"][what] - turned["with turns"][what]
        for what in turned["with turns"]}
if real and full_run:
    assert (cost["photographs"] > 0.05).all()
    assert cost["shapes"].mean() < 0.03
    assert min(row["shapes"].mean() for row in turned.values()) > 0.35
    assert (cost["turned photographs"] < -0.015).all()

# %% [markdown]
# On the photographs, turns cost more than five hundredths of the accuracy in each of three seeds.
# On the shapes, at the same budget, they cost nothing on average over the seeds, which differ more here.
# (A guess among four shapes is right a quarter of the time; after five epochs both arms are only one or two tenths above that on average.)
# And on turned photographs the networks that have seen turns are ahead in each seed, so the turns did teach something, only not what the upright test asks.
# That the label stays is not enough here: at this budget turns did no harm where the test may contain turned pictures, and cost where it does not.
# (Five epochs also hid the gain of flip and shift; what turns cost on the photographs after 15 was not measured.)
# This is no rule for every change: blends and strong distortions, below, give pictures that no test set contains, and long recipes use them.
#
# Some changes do alter the label.
# Half a turn makes a 9 out of a 6 (Exercise 14.1-1); a mirror exchanges a left and a right hand and spoils most letters; a crop may cut the object away.
# And a mean can hide a loss: Balestriero, Bottou and LeCun found a class of ImageNet, the barn spider, whose accuracy random crops lowered from 68 to 46 %, while they help on average.
# Look at the classes one by one.
#
# ## Blending pictures
#
# *Mixup* (Zhang and others, 2017) leaves single pictures behind: it blends two, and their labels with them,
#
# $$\tilde{\mathbf{x}}=\lambda\mathbf{x}_i+(1-\lambda)\mathbf{x}_j,\qquad \tilde{\mathbf{y}}=\lambda\mathbf{y}_i+(1-\lambda)\mathbf{y}_j,\qquad \lambda\sim\operatorname{Beta}(\alpha,\alpha), \tag{14.1.4}$$
#
# where $\mathbf{y}_i\in\mathbb{R}^k$ is the one-hot label of $\mathbf{x}_i$ among $k$ classes.
# With $\alpha=0.2$ most $\lambda$ lie near 0 or 1, so one picture dominates.
# The network is asked to change its answer evenly on the way from one picture to another, also where the way crosses no real picture.
# *CutMix* (Yun and others, 2019) pastes a rectangle of the second picture into the first instead; $\lambda$ is the share of pixels that stay.

# %% tags=["export"]
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
# %% [markdown]
# Cross-entropy is linear in the label, so the loss of a blend is the blend of two losses, $\lambda\,\ell(f(\tilde{\mathbf{x}}),\mathbf{y}_i)+(1-\lambda)\,\ell(f(\tilde{\mathbf{x}}),\mathbf{y}_j)$.

# %%
# check 14.1-C5: lambda 1 is the identity, labels sum to 1, losses mix
X, y = train[0][::41], train[1][::41]
Y = F.one_hot(y, 10).float()
assert all(map(torch.equal, mixup(X, Y, lam=1.0), (X, Y)))
seed7 = torch.Generator().manual_seed(7)
mixed, soft = mixup(X, Y, generator=seed7, lam=0.7)
j = torch.randperm(len(X), generator=torch.Generator().manual_seed(7))
torch.testing.assert_close(mixed, 0.7 * X + 0.3 * X[j])
torch.testing.assert_close(soft.sum(1), torch.ones(len(X)))
net = small_cnn(0).eval()
y_hat = net(mixed)
torch.testing.assert_close(
    F.cross_entropy(y_hat, soft), 0.7 * F.cross_entropy(y_hat, y)
    + 0.3 * F.cross_entropy(y_hat, y[j]))
scores = accuracy(y_hat, soft)
torch.testing.assert_close(scores, 0.7 * accuracy(y_hat, y)
                           + 0.3 * accuracy(y_hat, y[j]))

# %% tags=["hide-input"]
# check: the distribution of lambda, the generator, refusals
line, hot = torch.tensor([[0.0], [1.0]]), torch.eye(2)
for alpha in (0.2, 1.0):
    blends = [mixup(line, hot, alpha, rng) for _ in range(1000)]
    second = torch.stack([mixed[1, 0] for mixed, _ in blends])
    assert abs(second.mean() - 0.75) < 0.04  # half the pairs 1, half lambda
    draws = torch.stack([soft.amax() for _, soft in blends])  # the larger
    spread = ((draws - 0.5) ** 2).mean()  # the variance of lambda
    known = (1 / (8 * alpha + 4) + 0.25) / 2  # half the pairs: itself
    assert abs(spread - known) < 0.015
pairs = [mixup(X, Y, generator=torch.Generator().manual_seed(s))
         for s in (1, 1, 2)]
assert torch.equal(pairs[0][0], pairs[1][0])
assert not torch.equal(pairs[0][0], pairs[2][0])
try:
    mixup(X, y)
    raise AssertionError("whole numbers were blended")
except TypeError as error:
    assert "one_hot" in str(error)

# %% [markdown]
# In `train_ch14` mixup is an augmentation like the others; it only has to turn classes into shares.
# The training score then is the share of the label that belongs to the predicted class.
# It is the same blend of two accuracies, and for two pictures of different classes at most $\max(\lambda,1-\lambda)$: do not compare it with the test score.
# One run of 5 epochs shows that the pieces fit together; whether mixup pays is not measured here.

# %% tags=["rtol=0.15"]
def blended(X, y, generator):
    """Mixup for integer labels of ten classes."""
    return mixup(X, F.one_hot(y, 10).float(), 0.2, generator)


net = small_cnn(0)
history = train_ch14(net, train, test, F.cross_entropy,
                     torch.optim.AdamW(net.parameters(), 0.01), short,
                     device, 50, blended)
print(f"mixup, {short} epochs: training score {history['train'][-1]:.2f}, "
      f"test accuracy {history['test'][-1]:.2f}")
if real and full_run:
    assert history["loss"][-1] < history["loss"][0] - 0.2
    assert history["test"][-1] > 0.25

# %% [markdown]
# ### What is used today
#
# Tuning strengths costs runs, so current recipes leave the choice to chance.
# *TrivialAugment* draws one operation from a list (turn, shear, shift, colours, sharpness and so on) and its strength, and applies only this one; nothing is tuned, and its authors found it as good as searched policies or better for classification, though not for detection.
# *Random erasing* fills a random rectangle.
# torchvision's recipe for ResNet-50 combines TrivialAugment, random erasing, mixup and CutMix with long training and other changes; timm's recipes use RandAugment (a relative with two numbers to set), mixup and CutMix.
# The network reaches 80.9 % on ImageNet with the first, and 80.4 % with the most demanding of timm's.
# How much of that is augmentation these totals do not tell, since the length of training, the schedule and, in timm's case, the loss changed too, among other things.

# %%
torch.manual_seed(2)
a, b = train[0][per_class + 1], train[0][8 * per_class + 1]
pair = torch.stack([a, b])
pasted, weights = v2.CutMix(num_classes=10, alpha=1.0)(
    pair, torch.tensor([1, 8]))
trivial = v2.TrivialAugmentWide()
bytes_ = (255 * a).byte()
tiles = [a, b, 0.6 * a + 0.4 * b,  # what mixup makes of partners
         pasted[0], v2.RandomErasing(p=1.0)(a),
         *(trivial(bytes_) / 255 for _ in range(3))]
axes = d2l.show_images(tiles, 1, 8, scale=0.9, titles=[
    "first", "second", "mixup", "CutMix", "erasing"] + 3 * ["trivial"])
for ax in axes:
    ax.title.set_fontsize(7)
d2l.describe(axes[0].figure, """Eight small pictures: two originals, a blend
    of both, the first with a rectangle of the second, the first with a
    black rectangle, and three results of TrivialAugment.""")

# %% [markdown]
# **Figure 14.1.8.** Two pictures, and what today's recipes make of them: a blend with $\lambda=0.6$, a pasted and an erased rectangle, and three draws of TrivialAugment, of which the last left the picture as it was, which its list allows.

# %% tags=["hide-input"]
# check: the labels of CutMix are the shares of the pixels
flat = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 32, 32)
torch.manual_seed(0)
pasted, weights = v2.CutMix(num_classes=4)(flat, torch.arange(4))
kept = (pasted == flat).float().mean((1, 2, 3))  # shares of pixels
torch.testing.assert_close(weights.diagonal(), kept)
torch.testing.assert_close(weights.sum(1), torch.ones(4))
assert 0 < kept[0] < 1

# %% [markdown]
# The profile `gpu` takes all 10 000 training pictures of this copy and also trains ResNet-18 ([Section 8.6](../08-modern-cnns/06-resnet.ipynb)), plain and with flip and shift.
# Set `full_train` to 50000 there, and it takes the official CIFAR-10.

# %% tags=["hide-input"]
def read_full(part, count):
    """The official CIFAR-10: floats in [0, 1], and labels."""
    rows = np.concatenate([
        np.fromfile(path, np.uint8).reshape(-1, 3073)
        for name, path in d2l.fetch("cifar10").files.items()
        if part in name])[:count]
    images = torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32))
    return images / 255, torch.from_numpy(rows[:, 0].astype(np.int64))


if num_gpus:
    sets = (read_full("data_batch", full_train), read_full(
        "test_batch", 10000)) if full_train else (train, test)
    for name, augment in arms.items():
        torch.manual_seed(0)
        net = apply_init(ResNet18(), sets[0][0][:2], init_he)
        past = train_ch14(net, *sets, F.cross_entropy, torch.optim.AdamW(
            net.parameters(), 2e-3), full_epochs, device, 128, augment)
        print(f"ResNet-18, {name}: test {past['test'][-1]:.3f}")

# %% [markdown]
# ## Summary
#
# - Augmentation replaces each training picture by a random version with the same label: a prior about symmetries, and a regularizer. It belongs to training batches only.
# - A box or mask moves with its picture; `tv_tensors` carry the type that says so, and a plain tensor stays behind silently.
# - Draw anew for each picture, from a generator that workers do not share.
# - On 1000 photographs flip and shift won clearly after 15 epochs and not after 5; the augmented network made better use of the longer training.
# - That a change keeps the label does not make it pay: at 5 epochs quarter turns hurt photographs, and not shapes drawn at random angles.
# - Mixup and CutMix blend labels too; a score on blended labels is no accuracy.

# %% [markdown]
# ## Exercises
#
# ### Exercise 14.1-1
#
# Take handwritten digits (those of scikit-learn, 8 by 8 pixels) and a softmax regression.
# Train it plainly, with vertical flips, and with half turns, each for half of the pictures at random.
# Which digits suffer, and does a hidden layer help?

# %% [markdown]
# #### Solution 14.1-1

# %% [markdown]
# The plain softmax regression reads most turned 6s as 9s.
# Softmax regression that is trained with half turns loses much of its accuracy on 6 and 9, and little on 0.
# With a hidden layer it loses less: a handwritten 9 is not exactly a turned 6, and the larger model tells more of them apart.
# So the damage of an untrue symmetry depends on the model, too.
# A vertical flip makes a 5 out of an angular 2, and the other way round.
# Softmax regression loses more than five hundredths on both, and also on 6, 7 and 9, whose flipped forms are no digits.
# On average over the digits the hidden layer helps here, too.
# (Each line of the output is one seed, with about 54 test pictures of a digit, so a hundredth is half a picture.)

# %%
digits = load_digits()
X = torch.from_numpy(digits.images).float()[:, None] / 16  # (n, 1, 8, 8)
y = torch.from_numpy(digits.target)
cut = int(0.7 * len(y))


def at_random(axes):
    """Flip the given axes of half of the pictures."""
    def step(X, generator=None):
        chosen = torch.rand(len(X), generator=generator) < 0.5
        return torch.where(chosen[:, None, None, None], X.flip(axes), X)
    return step


def digit_net(hidden, augment):
    """A network trained on the digits."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, hidden), nn.ReLU()] if hidden else []
    net = nn.Sequential(nn.Flatten(), *layers, nn.Linear(hidden or 64, 10))
    train_ch14(net, (X[:cut], y[:cut]), None, F.cross_entropy,
               torch.optim.AdamW(net.parameters(), 0.01), 15, cpu, 50,
               augment)
    return net

# %% tags=["rtol=0.15"]
by_digit, nets = {}, {}
for hidden in (0, 128):
    for name, axes in (("plain", None), ("vertical flip", (-2,)),
                       ("half turn", (-2, -1))):
        net = digit_net(hidden, axes and Compose(at_random(axes)))
        row = torch.stack([accuracy(net(X[cut:]), y[cut:])[y[cut:] == k]
                           .mean() for k in range(10)])
        by_digit[hidden, name], nets[hidden, name] = row, net
        print(f"{hidden:3d} hidden, {name:14s}", *(f"{a:.2f}" for a in row))
sixes = nets[0, "plain"](X[y == 6].flip((-2, -1))).argmax(1)
nines = (sixes == 9).float().mean()
print(f"turned 6s that the plain network reads as 9: {nines:.2f}")
loss = {(hidden, name): by_digit[hidden, "plain"] - row
        for (hidden, name), row in by_digit.items()}
both = [loss[hidden, "half turn"][[6, 9]].mean() for hidden in (0, 128)]
assert nines > 0.5 and loss[0, "half turn"][0] < 0.1
assert both[0] > 0.15 and both[1] < both[0] - 0.05
assert (loss[0, "vertical flip"][[2, 5, 6, 7, 9]] > 0.05).all()
flips = [loss[hidden, "vertical flip"].mean() for hidden in (0, 128)]
assert flips[1] < flips[0] - 0.01

# %% [markdown]
# ### Exercise 14.1-2
#
# How many different inputs does a network see in 20 epochs over $n$ pictures if each is mirrored with probability 0, $\frac12$ or 1?

# %% [markdown]
# #### Solution 14.1-2

# %% [markdown]
# With probability 0 the $n$ pictures, with 1 their $n$ mirror images, and never a picture itself.
# With $\frac12$ a version of a picture stays unseen with probability $2^{-20}$, so on average $2n\cdot2^{-20}$ are missing from the possible $2n$: for $n=1000$ only 0.002.
# (A picture that is its own mirror image counts once.)

# %%
pictures = train[0][::max(1, len(train[0]) // 60)]
different = []
for p in (0.0, 0.5, 1.0):
    generator = torch.Generator().manual_seed(0)
    different.append(len({hflip(X, p, generator).numpy().tobytes()
                          for _ in range(20) for X in pictures}))
n = len(pictures)
print(n, different)
assert different == [n, 2 * n, n]

# %% [markdown]
# ### Exercise 14.1-3
#
# Write *Cutout* (DeVries and Taylor, 2017): a square of side $s$ is set to 0, its centre uniform over the pixels, so that it may stick out of the picture.
# Which share of an $h\times h$ picture does it erase on average?

# %% [markdown]
# #### Solution 14.1-3

# %% [markdown]
# Rows and columns are independent, so the mean share is the square of the mean share of one axis.
# Let the square cover the positions from $c-\lfloor s/2\rfloor$ to $c-\lfloor s/2\rfloor+s-1$.
# Without the rim these are $s$; at the rim up to half are lost.
# For even $s\le h$ the losses add up to $\frac{s}{2}\cdot\frac{s}{2}$ over all $h$ centres: $1+\dots+\frac s2$ on one side and $1+\dots+(\frac s2-1)$ on the other.
# The mean share is therefore $\bigl(\frac sh-\frac{s^2}{4h^2}\bigr)^2$: for $s=16$ and $h=32$ it is $0.4375^2\approx0.19$, less than the quarter that the square covers inside.

# %%
def cutout(X, size, generator=None):
    """Erase a square in each picture of a batch (n, c, h, w)."""
    def inside(length):
        centre = torch.randint(length, (len(X), 1), generator=generator)
        offset = torch.arange(length) - centre + size // 2
        return (offset >= 0) & (offset < size)  # (n, length)
    rows, columns = inside(X.shape[-2]), inside(X.shape[-1])
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return X.masked_fill(hole.to(X.device), 0.0)


ones = torch.ones(4000, 3, 32, 32)
for s in (8, 16):
    share = 1 - cutout(ones, s, torch.Generator().manual_seed(s)).mean()
    known = (s / 32 - s**2 / (4 * 32**2)) ** 2
    print(f"side {s}: erased {share:.3f}, by the formula {known:.3f}")
    assert abs(share - known) < 0.03 * known + 0.002
one = 1 - cutout(ones[:50], 8, rng)
assert torch.equal(one[:, 0], one[:, 2]) and ones.min() == 1
assert one[:, 0].sum((1, 2)).max() == 64

# %% [markdown]
# ### Exercise 14.1-4
#
# *Test-time augmentation* averages the predicted probabilities over changed versions of a test picture.
# Do it for the networks of the long comparison that were trained with flip and shift, first over the picture and its mirror image, then over all eight symmetries of the square.

# %% [markdown]
# #### Solution 14.1-4

# %% [markdown]
# The mirror image changes the accuracy by less than three hundredths in each of three seeds, no clear gain on 1000 test pictures.
# All eight symmetries cost more than eight hundredths in each seed: six of the eight views are turned, and these networks have seen no turned picture.

# %% tags=["rtol=0.15"]
class Averaged(nn.Module):
    """Probabilities of `net`, averaged over several views of X."""

    def __init__(self, net, views):
        super().__init__()
        self.net, self.views = net, views

    def forward(self, X):
        return torch.stack([self.net(view(X)).softmax(1)
                            for view in self.views]).mean(0)


def view(k, mirrored):
    return lambda X: (X.flip(-1) if mirrored else X).rot90(k, (-2, -1))


mirror = [view(0, False), view(0, True)]
eight = [view(k, m) for k in range(4) for m in (False, True)]
where = [tensor.to(device) for tensor in test]
views = {"alone": eight[:1], "mirror": mirror, "eight": eight}
averaged = {name: torch.tensor([
    evaluate(Averaged(net, chosen), where)
    for net, _ in by_epochs[long]["flip + shift"]])
    for name, chosen in views.items()}
for name, values in averaged.items():
    print(f"{name:6s}", *(f"{a:.3f}" for a in values))
probe = where[0][:1]
assert len({v(probe).contiguous().cpu().numpy().tobytes()
            for v in eight}) == 8
if real and full_run:
    alone = averaged["alone"]
    torch.testing.assert_close(alone, final(by_epochs[long]["flip + shift"]))
    assert (averaged["mirror"] - alone).abs().max() < 0.03
    assert (averaged["eight"] - alone).max() < -0.08

# %% [markdown]
# ## Sources
#
# - A. Krizhevsky, *Learning multiple layers of features from tiny images* (2009), [PDF](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf): CIFAR-10.
# - H. Zhang, M. Cissé, Y. N. Dauphin and D. Lopez-Paz, *mixup: beyond empirical risk minimization* (2017), [arXiv:1710.09412](https://arxiv.org/abs/1710.09412).
# - S. Yun et al., *CutMix: regularization strategy to train strong classifiers with localizable features* (2019), [arXiv:1905.04899](https://arxiv.org/abs/1905.04899).
# - S. G. Müller and F. Hutter, *TrivialAugment: tuning-free yet state-of-the-art data augmentation* (2021), [arXiv:2103.10158](https://arxiv.org/abs/2103.10158).
# - Z. Zhong et al., *Random erasing data augmentation* (2017), [arXiv:1708.04896](https://arxiv.org/abs/1708.04896).
# - T. DeVries and G. W. Taylor, *Improved regularization of convolutional neural networks with Cutout* (2017), [arXiv:1708.04552](https://arxiv.org/abs/1708.04552).
# - R. Balestriero, L. Bottou and Y. LeCun, *The effects of regularization and data augmentation are class dependent* (2022), [arXiv:2204.03632](https://arxiv.org/abs/2204.03632): the spider whose accuracy crops lowered.
# - R. Wightman, H. Touvron and H. Jégou, *ResNet strikes back: an improved training procedure in timm* (2021), [arXiv:2110.00476](https://arxiv.org/abs/2110.00476).
# - V. Vryniotis, *How to train state-of-the-art models using TorchVision's latest primitives* (2021), [pytorch.org](https://pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives/): the recipe for ResNet-50.
# - The photographs of Figures 14.1.2 to 14.1.4 are `china.jpg` and `flower.jpg`, [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/), from scikit-learn's [sample images](https://scikit-learn.org/stable/datasets/loading_other_datasets.html).
