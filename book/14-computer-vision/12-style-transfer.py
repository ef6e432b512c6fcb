# ---
# jupyter:
#   d2l:
#     data: [efficientnet-lite0]
#     profiles:
#       gpu:
#         height: 288
#         steps: 500
#         slider_steps: 200
#         use_vgg: true
#       smoke:
#         height: 48
#         steps: 6
#         slider_steps: 2
#         num_seeds: 2
#     rehearsal:
#       height: 0.34
#       steps: 0.02
#       slider_steps: 0.02
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
# # 14.12 Neural style transfer
#
# Paint this photograph in the manner of that picture: nobody has pairs of inputs and answers for such a task.
# A network that was trained to name objects can serve all the same, as a ruler: we keep its weights and change the *pixels* until its features say "the content of one picture, the texture of the other".
# Then we ask how much of the result is owed to what the network has learned, with networks that have learned nothing.
#
# **You will**
#
# - optimize an image instead of weights, with a content loss, a style loss and a total-variation loss;
# - read features out of any network with hooks, and know what in-place layers do to them;
# - say what a Gram matrix keeps of a picture and what it throws away;
# - compare trained with random extractors, and see why a small loss proves little.
#
# **Cost**: about half a minute on a CPU, a download of 19 MB, once.

# %%
import math
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F
from torchvision.models import VGG19_Weights, vgg19

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.convolutional_neural_networks import init_he
from d2l_helpers.pretrained import EfficientNetLite0, efficientnet_lite0

d2l.use_style()

# %% tags=["parameters"]
height = 96  # of the pictures in pixels; the width is 1.5 times as much
steps = 100  # of Adam, for each result
slider_steps = 50  # for each picture behind the sliders
num_seeds = 3  # random extractors of each kind
use_vgg = False  # True: VGG-19, where its weights have been downloaded

# %% [markdown]
# ## Two pictures
#
# The content is a photograph of a pavilion, the style a part of another one: the petals of a dahlia.
# Both come with scikit-learn.

# %%
def photo(name, box=None, height=height):
    """A sample picture, or a box (x1, y1, x2, y2) of it, (1, 3, h, w).

    The height is given, the width 1.5 times as much; numbers from 0 to 1.
    """
    image = Image.fromarray(load_sample_image(name)).crop(box)
    image = image.resize((height * 3 // 2, height), Image.Resampling.BOX)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


device = d2l.try_device(quiet=True)
pavilion = photo("china.jpg").to(device)
petals = photo("flower.jpg", (190, 105, 430, 265)).to(device)

# %% tags=["hide-input"]
def enlarge(picture, width):
    """(1, 3, h, w) -> (height, width, 3), smooth, 32 levels a colour."""
    size = (round(width * picture.shape[2] / picture.shape[3]), width)
    large = F.interpolate(picture.cpu(), size, mode="bicubic").clamp(0, 1)
    return ((31 * large).round() / 31)[0].permute(1, 2, 0).numpy()


def gallery(pictures, alt, columns, inches=1.9):
    """Pictures {title: (1, 3, h, w)} in rows, enlarged; 144 dots an inch."""
    shapes = [p.shape[2] / p.shape[3] for p in pictures.values()]
    tall, head, rows = inches * max(shapes), 0.22, -(-len(shapes) // columns)
    wide, full = columns * (inches + 0.06), rows * (tall + head)
    fig = plt.figure(figsize=(wide, full), layout="none")
    for i, (title, picture) in enumerate(pictures.items()):
        row, column = divmod(i, columns)
        ax = fig.add_axes((column * (inches + 0.06) / wide,
                           1 - (row + 1) * (tall + head) / full,
                           inches / wide, tall / full))
        ax.imshow(enlarge(picture, round(144 * inches)),
                  interpolation="nearest")
        ax.set_title(title, fontsize=9, pad=3)
        ax.axis("off")
    d2l.describe(fig, alt)


gallery({"content": pavilion, "style": petals}, """Left a pavilion with
    three tiled roofs above trees and a lake under a pale sky, right the
    overlapping orange petals of a dahlia.""", 2, 2.2)

# %% [markdown]
# **Figure 14.12.1.** Content and style; here 96 by 144 pixels, enlarged.
#
# ## The image is the parameter
#
# Let $\mathbf X^c$ and $\mathbf X^s$ be the content and the style picture, tensors of shape $3\times h\times w$.
# We look for a third picture,
#
# $$\hat{\mathbf X}=\operatorname*{argmin}_{\mathbf X}\;\alpha\,\ell_c(\mathbf X,\mathbf X^c)+\beta\,\ell_s(\mathbf X,\mathbf X^s)+\gamma\,\ell_t(\mathbf X), \tag{14.12.1}$$
#
# where $\mathbf X\in\mathbb R^{3\times h\times w}$ is the only thing that changes; $\ell_c$, $\ell_s$ and $\ell_t$ are the content, style and total-variation loss, and $\alpha,\beta,\gamma\ge0$ are their weights, all of them numbers.
# The first two compare *features* of the pictures, not pixels: outputs of layers of a network with frozen weights, the *extractor*.
# This is *neural style transfer* (Gatys, Ecker and Bethge, 2015).
#
# The network expects standardized inputs.
# We optimize in that space, and come back at the end.

# %%
MEAN, STD = 127 / 255, 128 / 255  # of EfficientNet-Lite0, all colours


def preprocess(picture):
    """Numbers from 0 to 1 -> what the extractors take."""
    return (picture - MEAN) / STD


def postprocess(X):
    """The way back; what no screen can show is clamped to 0 and 1."""
    return (X * STD + MEAN).clamp(0, 1)


class SynthesizedImage(nn.Module):
    """A picture as a parameter; the way forward is to hand it out."""

    def __init__(self, start):
        super().__init__()
        self.pixels = nn.Parameter(start.clone())

    def forward(self):
        return self.pixels

# %%
# check 14.12-C4: there and back is the identity, and the end is clamped
both = torch.cat([pavilion, petals])
torch.testing.assert_close(postprocess(preprocess(both)), both, rtol=0,
                           atol=1e-6)
ends = postprocess(torch.tensor([-1e3, -1.01, 1.01, 1e3]))
assert ends.tolist() == [0, 0, 1, 1]
assert preprocess(both).std() > 0.4 > both.std()  # something happens
start = preprocess(pavilion)
image = SynthesizedImage(start)
assert [p.shape for p in image.parameters()] == [start.shape]
assert image() is image.pixels and image.pixels is not start

# %% [markdown]
# ## Features by hooks
#
# A *forward hook* ([Section 6.1](../06-builders-guide/01-layers-and-modules.ipynb)) sees each output of its module.
# One on each layer that we want, one pass, and the hooks are removed.

# %% tags=["export"]
def extract_features(net, X, layers):
    """Outputs of some layers of a sequential network, {position: tensor}.

    Layers after the last one wanted do not run. Each output is copied,
    because a later layer that works in place would change it.
    """
    found, handles = {}, []
    try:
        for i in layers:
            handles.append(net[i].register_forward_hook(
                lambda layer, inputs, output, i=i: found.update(
                    {i: output.clone()})))
        net[:max(layers) + 1](X)
    finally:
        for handle in handles:
            handle.remove()
    return found

# %% [markdown]
# The copy is no formality.
# In torchvision's VGG networks every ReLU works in place and overwrites the output of the convolution before it; who stores "the output of convolution 0" without a copy holds the rectified one.

# %%
# check: what a layer gave, whatever comes after it; no hook stays
pair = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten())
found = extract_features(pair, both.cpu(), (0, 1))
torch.testing.assert_close(found[0], pair[0](both.cpu()))
assert (found[0] < 0).any() and torch.equal(found[1], found[0].relu())
assert not any(layer._forward_hooks for layer in pair)
try:
    extract_features(pair, both[:, :2].cpu(), (0,))
    raise AssertionError("two colours were accepted")
except RuntimeError:
    assert not any(layer._forward_hooks for layer in pair)

# %% [markdown]
# Our first extractor is [Section 8.9](../08-modern-cnns/09-comparison.ipynb)'s EfficientNet-Lite0 with its weights from ImageNet, cut off after its fifth block.
# We take the last maps at strides 2, 4 and 8 for the style, and the deepest of them for the content.

# %%
class Extractor(NamedTuple):
    """A network, and the positions of the layers that are compared."""
    net: nn.Sequential
    style: tuple[int, ...]
    content: int


def lite0_extractor(lite0):
    """The first five blocks of EfficientNet-Lite0, frozen."""
    stem, norm, blocks, *_ = lite0.children()
    net = nn.Sequential(stem, norm, nn.ReLU6(), *blocks[:5])
    net.requires_grad_(False).eval().to(device)
    return Extractor(net, style=(3, 5, 7), content=7)


trained = lite0_extractor(efficientnet_lite0())
for i, map_ in extract_features(trained.net, start, trained.style).items():
    print(f"position {i}: {tuple(map_.shape)}")

# %%
# check: these are the maps that the whole network computes
with torch.no_grad():
    whole = efficientnet_lite0().to(device).features(pavilion)
    ours = extract_features(trained.net, start, trained.style)
for a, b in zip(ours.values(), whole):
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
assert not trained.net.training and all(
    not p.requires_grad for p in trained.net.parameters())

# %% [markdown]
# ## Three losses
#
# **Content.** Two pictures have the same content if the deep features agree place by place:
# $\ell_c$ is the mean squared difference of the maps at one deep layer.
#
# **Style** should not depend on places.
# Write the $c$ maps of a layer as rows of a matrix $\mathbf F\in\mathbb R^{c\times hw}$, where $h$ and $w$ are now the height and width of the maps.
# Its *Gram matrix*
#
# $$\mathbf G=\frac1{chw}\mathbf F\mathbf F^\top\in\mathbb R^{c\times c} \tag{14.12.2}$$
#
# holds in entry $i,j$ how strongly channels $i$ and $j$ occur together, summed over all places.
# Two channels at two places with $\mathbf F=\big(\begin{smallmatrix}1&2\\0&3\end{smallmatrix}\big)$ give $\mathbf G=\frac14\big(\begin{smallmatrix}5&6\\6&9\end{smallmatrix}\big)$; exchange the two places and nothing changes.
# $\ell_s$ is the mean squared difference of Gram matrices, averaged over the style layers.

# %% tags=["export"]
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

# %%
# check 14.12-C2: symmetric, semidefinite, blind to places, quadratic
rng = torch.Generator().manual_seed(0)
maps = torch.randn(2, 5, 4, 6, generator=rng, dtype=torch.float64)
G = gram(maps)
small = torch.tensor([[[[1.0, 2.0]], [[0.0, 3.0]]]])
assert gram(small).tolist() == [[[1.25, 1.5], [1.5, 2.25]]]
assert G.shape == (2, 5, 5)
torch.testing.assert_close(G, G.mT)
assert torch.linalg.eigvalsh(G).min() > -1e-12
few = gram(maps[..., :1, :3])  # 5 channels at 3 places: rank 3, not more
assert torch.linalg.matrix_rank(few).tolist() == [3, 3]
order = torch.randperm(24, generator=rng)
mixed = maps.flatten(2)[..., order].view_as(maps)
torch.testing.assert_close(gram(mixed), G)
torch.testing.assert_close(gram(3 * maps), 9 * G)
assert content_loss(mixed, maps) > 1 and style_loss(mixed, G) < 1e-24

# %% [markdown]
# What does such a matrix see?
# We cut two patches from the petals and two from the trees beside the pavilion, and shuffle the pixels of one of them.

# %%
def patch(name, x, y, side=96):
    """A square of a sample picture from its upper left corner."""
    pixels = load_sample_image(name)[y:y + side, x:x + side]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255


def shuffle_pixels(picture, seed=0):
    """The same pixels at other places."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(picture[0, 0].numel(), generator=rng)
    return picture.flatten(2)[..., order].view_as(picture)


patches = {"petals 1": patch("flower.jpg", 200, 100),
           "petals 2": patch("flower.jpg", 315, 195),
           "trees 1": patch("china.jpg", 365, 325),
           "trees 2": patch("china.jpg", 465, 325)}
patches["trees 2 shuffled"] = shuffle_pixels(patches["trees 2"])


def grams(picture, extractor):
    """Gram matrices of all style layers."""
    with torch.no_grad():
        maps = extract_features(extractor.net, preprocess(picture).to(device),
                                extractor.style)
    return [gram(maps[i])[0] for i in extractor.style]


described = {name: grams(p, trained) for name, p in patches.items()}

# %% tags=["hide-input", "rtol=0.05"]
fig, axes = plt.subplots(2, 5, figsize=(7.4, 3.2))
top = max(each[1].abs().max().item() for each in described.values())
for (name, picture), column in zip(patches.items(), axes.T):
    column[0].imshow(enlarge(picture, 96), interpolation="nearest")
    column[0].set_title(name, fontsize=9)
    column[1].imshow(described[name][1].cpu(), cmap="RdBu_r", vmin=-top / 3,
                     vmax=top / 3)
    for ax in column:
        ax.axis("off")
d2l.describe(fig, """Upper row: two patches of petals, two of trees, and
    coloured noise made of the pixels of the last. Lower row: their Gram
    matrices, 24 by 24, red for positive and blue for negative entries. The
    two of a texture look alike; the shuffled patch has another matrix.""")

# %% [markdown]
# **Figure 14.12.2.** Patches, and their Gram matrices at stride 4 (24 channels; red positive, blue negative).

# %%
def distance(a, b):
    """Mean squared difference of Gram matrices, relative, over layers."""
    return sum(((s - t).square().mean() / t.square().mean()).item()
               for s, t in zip(a, b)) / len(a)


same = max(distance(described["petals 1"], described["petals 2"]),
           distance(described["trees 1"], described["trees 2"]))
other = min(distance(described[a], described[b]) for a, b in (
    ("petals 1", "trees 1"), ("petals 2", "trees 2"),
    ("petals 1", "trees 2"), ("petals 2", "trees 1")))
noise = distance(described["trees 2 shuffled"], described["trees 2"])
print(f"same texture {same:.2f} at most, different ones {other:.2f} at "
      f"least, shuffled pixels {noise:.2f}")
