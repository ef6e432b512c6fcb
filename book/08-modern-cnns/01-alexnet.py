# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#         size: 224
#         width: 1.0
#         fc: 4096
#         max_epochs: 10
#         sgd_rate: 0.01
#         few_epochs: 60
#         small_size: 20000
#         num_gpus: 1
#       smoke:
#         train_size: 500
#         val_size: 200
#         size: 65
#         width: 0.125
#         max_epochs: 1
#         few_size: 100
#         few_epochs: 1
#         small_size: 300
#     rehearsal:
#       train_size: 0.02
#       val_size: 0.05
#       size: 0.35
#       width: 0.25
#       fc: 0.125
#       max_epochs: 0.2
#       few_epochs: 0.15
#       small_size: 0.1
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
# # 8.1 AlexNet
#
# In 2012 a convolutional network won the largest contest in image classification by a wide margin.
# Apart from its size it is LeNet with a handful of parts exchanged.
# Why did it take until then, where do its 60 million parameters and its operations go, and which of its parts can we see at work in an experiment of our own?
#
# **You will**
#
# - say what was missing between 1995 and 2012, and what of AlexNet is still in use;
# - build the network, and split its cost into parameters and computation;
# - notice when an initializer has had no effect;
# - measure what dropout and augmentation do when images are few and training is short.
#
# **Cost**: about 40 seconds on a CPU; the profile `gpu` trains the full network on all images, enlarged to $224\times224$; a download of 31 MB, once.

# %%
import importlib.util
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.parameter import is_lazy

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    conv_out, count_macs, init_cnn, init_he, layer_summary,
    receptive_field)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, predict, scale_bytes)
from d2l_helpers.chapters.linear_regression import Trainer

d2l.use_style()

# %% tags=["parameters"]
train_size = 4000  # images for the training curves
val_size = 1000
size = 80  # side of the images
width = 0.25  # share of the channels
fc = 512  # units of the dense layers
max_epochs = 3
sgd_rate = 0.0  # 0: AdamW; else the learning rate of plain SGD
few_size = 500  # images of the comparison at the end
few_epochs = 16
num_seeds = 3
small_size = 4000  # images of Exercise 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## Why it took until 2012
#
# LeNet read digits in the 1990s, and then for many years convolutional networks were a minority's tool.
# An image recognizer of 2005 or 2010 was a pipeline.
# People designed *features*: SIFT and HOG, which summarize the directions of edges in small blocks, and *bags of visual words*, which count how often each of some typical patches occurs.
# A linear or kernel classifier on top of them was usually the only part trained with labels.
# Better results came from better features, and networks trained on pixels were often behind kernel machines and ensembles of trees.
#
# The other view was that the features should be learned as well, in several layers: edges, colours and textures first, then parts, then objects.
# It lacked methods, data and computers.
#
# **Methods.**
# Activations that do not saturate, scaled initialization ([Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb)), better variants of SGD and dropout ([Section 5.6](../05-multilayer-perceptrons/06-dropout.ipynb)) were not there, or not in common use.
# AlexNet used the first and the last of these.
# It had no scaled weights (the paper draws all of them with standard deviation 0.01), and its SGD with momentum was decades old.
#
# **Data.**
# Experiments ran on tens of thousands of small pictures.
# *ImageNet* was presented in 2009 with 3.2 million photographs in 5247 categories, and grew to 14 million later.
# It is not the same as the *challenge* named after it, ILSVRC, which began in 2010: in 2012 its 1000 categories had 1.28 million training images, 732 to 1300 in each.
# The two are easily confused.
#
# **Computers.**
# A convolution does the same arithmetic at many positions, which suits a graphics processor.
# Convolutional networks had run on such processors since about 2006, and in 2011 Cireşan and colleagues set records with them on small images.
# Krizhevsky, Sutskever and Hinton used two GTX 580 cards with 3 GB each; the arithmetic units of one card, 512 of them at 1.54 GHz with a multiplication and an addition in each cycle, make 1.6 trillion operations per second at most.
# Training took five to six days.
#
# In the challenge of 2012 their entry had the right category among its first five answers for all but 15.3 % of the test images, and the second-best entry for all but 26.2 %.
# (The 15.3 % belong to an average over several networks, some of them trained on further ImageNet data before.)

# %% [markdown]
# ## The network
#
# ![Two columns of boxes from bottom to top. LeNet: image 1 by 28 by 28, 5 by 5 convolution with 6 channels, average pooling, 5 by 5 convolution with 16, average pooling, dense layers of 120, 84 and 10. AlexNet: image 3 by 224 by 224, 11 by 11 convolution with 96 channels and stride 4, 3 by 3 maximum pooling with stride 2, 5 by 5 convolution with 256, pooling, three 3 by 3 convolutions with 384, 384 and 256, pooling, dense layers of 4096, 4096 with dropout, and 1000.](img/alexnet-vertical.svg)
#
# **Figure 8.1.1.** LeNet ([Section 7.6](../07-convolutional-neural-networks/06-lenet.ipynb)) and AlexNet with the shapes of their outputs.
#
# AlexNet has eight layers with weights: five convolutions, two hidden dense layers and the output.
# Compared with LeNet, four things changed.
#
# - *Size.* Photographs of $224\times224$ pixels with three colours come in, so the first kernel is large, $11\times11$, and moves four pixels at a time. The channels are more than ten times as many.
# - *Activation.* ReLU costs one comparison, and its slope is 1 wherever it is active. The slope of a sigmoid is at most $\frac14$ and almost 0 where it is saturated, and four of them were enough to delay LeNet.
# - *Pooling* takes maxima over windows of 3 with stride 2, which overlap.
# - *Capacity control.* Besides weight decay, there is dropout with probability $\frac12$ in both hidden dense layers, and *augmentation*: the network hardly ever sees the same picture twice, because each is mirrored, cropped and changed in colour at random.
#
# What the figure leaves out: the original was spread over two cards.
# Each held half of the channels, and the second, fourth and fifth convolution saw only the half on their own card.
# This is one of the first *grouped convolutions*, made by necessity; Section 8.6 returns to it as a design.
# And the first two convolutions were followed by *local response normalization*, which divides each value by a term that grows with its neighbours in the channel direction.
# Both are left out here, as in most versions in use.
#
# The class takes the channels from the paper and multiplies them by `width`, so a small version for a CPU is the same code.

# %% tags=["export"]
def scaled(channels, width):
    """`channels` times `width`, rounded to an integer of at least 1."""
    if not width > 0:
        raise ValueError(f"width is {width}; it must be positive.")
    return max(1, round(channels * width))

# %% tags=["export"]
class AlexNet(Classifier):
    """AlexNet in one column; returns scores (n, num_classes).

    The input is (n, channels, h, w) with h and w of at least 65; `width`
    multiplies the channels, `fc` is the width of the dense layers.
    """

    def __init__(self, lr=0.01, num_classes=10, width=1.0, fc=4096):
        super().__init__()
        self.save_hyperparameters()
        c1, c2, c3, c4, c5 = (scaled(c, width)
                              for c in (96, 256, 384, 384, 256))
        self.net = nn.Sequential(
            nn.LazyConv2d(c1, kernel_size=11, stride=4, padding=1),
            nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
            nn.LazyConv2d(c2, kernel_size=5, padding=2),
            nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
            nn.LazyConv2d(c3, kernel_size=3, padding=1), nn.ReLU(),
            nn.LazyConv2d(c4, kernel_size=3, padding=1), nn.ReLU(),
            nn.LazyConv2d(c5, kernel_size=3, padding=1), nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Flatten(),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(num_classes))

# %% [markdown]
# Networks on PyTorch's device `meta` have shapes and no values, and cost neither time nor memory.
# That suits a network of this size, of which we only want to know the shapes:

# %%
with torch.device("meta"):
    big = AlexNet()
shapes = layer_summary(big.net, (1, 1, 224, 224))
for kind, shape in shapes:
    if kind not in ("ReLU", "Dropout"):
        print(f"{kind:10s} {shape[1:]}")

# %%
# check 8.1-C1: the shapes of Figure 8.1.1, the first from (7.3.4)
after = [shape[1:] for kind, shape in shapes
         if kind not in ("ReLU", "Dropout")]
assert after[:3] == [(96, 54, 54), (96, 26, 26), (256, 26, 26)]
assert after[3:8] == [(256, 12, 12), (384, 12, 12), (384, 12, 12),
                      (256, 12, 12), (256, 5, 5)]
assert after[8:] == [(6400,), (4096,), (4096,), (10,)]
assert conv_out(224, 11, padding=1, stride=4) == 54
kinds = [kind for kind, _ in shapes]
assert kinds.count("ReLU") == 7 and kinds.count("MaxPool2d") == 3
assert [layer.p for layer in big.net
        if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
assert kinds[-4:] == ["Linear", "ReLU", "Dropout", "Linear"]

# %% [markdown]
# The first number is $\lfloor(224-11+2+4)/4\rfloor=54$, with twice the padding in the sum.
# The paper gives 55 as the side of the first maps.
# For an input of 224 this needs padding 2, as torchvision's version has it; the form that is often taught, and ours, has padding 1 and gets 54.

# %%
assert conv_out(224, 11, padding=2, stride=4) == 55
layers = [(11, 4, 1), (3, 2, 0), (5, 1, 2), (3, 2, 0),
          (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0)]
seen, jump, _ = receptive_field(layers)
print(f"an entry of the last maps sees {seen} x {seen} pixels, "
      f"its neighbour {jump} pixels further")

# %% [markdown]
# The middle entry of the $5\times5$ last maps sees 194 of the 224 pixels along each side and one of the padding, three quarters of the picture; the entries at the rim look over its edge.
# A small picture does not survive all the strides: the smallest square that leaves something has 65 pixels.

# %%
# check 8.1-C5: receptive field 195, jump 32, smallest square input 65
assert (seen, jump) == (195, 32)
assert layer_summary(big.net[:13], (1, 1, 65, 65))[-1][1] == (1, 256, 1, 1)
try:
    layer_summary(big.net[:13], (1, 1, 64, 64))
    raise AssertionError("a picture of 64 pixels survived")
except RuntimeError:
    pass

# %% [markdown]
# ## Two kinds of size
#
# [Section 7.6](../07-convolutional-neural-networks/06-lenet.ipynb) noticed that parameters and operations sit in different layers.
# In AlexNet the difference is extreme.
# This function does the accounting for any `nn.Sequential`:

# %% tags=["export"]
def cost_table(net, X_shape):
    """What each part of an nn.Sequential gives and costs.

    `X_shape` is the shape of a batch, such as (1, 1, 224, 224). Returns
    rows (class name, output shape, parameters, multiply-accumulates), one
    for each entry of `net`, in order; what an entry contains is summed.
    Parameters that two entries share are listed with both. Leaves `net`
    as it found it, except that lazy layers get their shapes.
    """
    if not isinstance(net, nn.Sequential):
        raise TypeError("cost_table needs an nn.Sequential, got "
                        f"{type(net).__name__}; pass its attribute net.")
    rows, shape = [], X_shape
    for part, (kind, output) in zip(net, layer_summary(net, X_shape),
                                    strict=True):
        macs = sum(count_macs(part, shape).values())
        rows.append((kind, output, count_params(part), macs))
        shape = output
    return rows

# %%
rows = cost_table(big.net, (1, 1, 224, 224))
heavy = [row for row in rows if row[2]]
for kind, shape, params, macs in heavy:
    print(f"{kind:7s} {params:12,d} parameters {macs:12,d} "
          "multiply-accumulates")

# %% tags=["hide-input"]
names = [f"conv {i}" for i in range(1, 6)] + [f"dense {i}"
                                              for i in range(1, 4)]
_, ax = plt.subplots(figsize=(5.6, 2.8))
place = torch.arange(8)
ax.bar(place - 0.2, [row[2] / 1e6 for row in heavy], 0.4,
       label="parameters", color="C1")
ax.bar(place + 0.2, [row[3] / 1e6 for row in heavy], 0.4,
       label="multiply-accumulates", color="C0")
ax.set_xticks(place, labels=names, fontsize=8)
ax.set(ylabel="millions", yscale="log")
ax.legend(fontsize=8)
d2l.describe(ax, """Two bars for each of the eight layers on a logarithmic
    axis. In the five convolutions the bars of the multiply-accumulates
    are a hundred or more times higher than those of the parameters; in
    the three dense layers both bars have the same height. The tallest bar
    of the parameters is that of the first dense layer.""")

# %% [markdown]
# **Figure 8.1.2.** Parameters and operations of each layer (in millions, logarithmic axis).
# A weight of a dense layer is used once for each image, a weight of a convolution at every position.

# %%
# check 8.1-C2: the parameters, layer by layer
assert [row[2] for row in heavy] == [
    11_712, 614_656, 885_120, 1_327_488, 884_992,
    26_218_496, 16_781_312, 40_970]
assert sum(row[2] for row in rows) == count_params(big) == 46_764_746

# %%
# check 8.1-C3: the dense layers hold 92 % and do 4.6 % of the work
total = sum(row[3] for row in rows)
dense = [row for row in heavy if row[0] == "Linear"]
share_params = sum(row[2] for row in dense) / count_params(big)
share_macs = sum(row[3] for row in dense) / total
print(f"dense layers: {share_params:.1%} of the parameters, "
      f"{share_macs:.1%} of {total:,} multiply-accumulates")
assert total == sum(count_macs(big, (1, 1, 224, 224)).values())
assert total == 938_146_176
assert 0.92 < share_params < 0.925 and 0.0455 < share_macs < 0.0465

# %% [markdown]
# To save memory for weights, attack the dense head; to save operations, the convolutions.
# How large is the head?

# %%
large = [big.net[i].weight.numel() for i in (14, 17)]
print(f"two matrices: {sum(large) / 1e6:.1f} million weights, "
      f"{4 * sum(large) / 1e6:.0f} MB, {2 * sum(large) / 1e6:.0f} million "
      "multiplications and additions for an image")
assert large == [6400 * 4096, 4096 * 4096]
assert round(4 * sum(large) / 1e6) == 172
assert round(4 * sum(large) / 2**20) == 164

# %% [markdown]
# Training needs this memory several times, for gradients and momentum as well, and the two cards had 3 GB each.
# [Section 8.3](03-nin.ipynb) gets rid of the head.
#
# Numbers for "AlexNet" in the literature belong to at least three networks.

# %%
# check 8.1-C4: the original with two groups, and torchvision's variant
with torch.device("meta"):
    original = nn.Sequential(  # pooling and activations have no weights
        nn.Conv2d(3, 96, 11), nn.Conv2d(96, 256, 5, groups=2),
        nn.Conv2d(256, 384, 3), nn.Conv2d(384, 384, 3, groups=2),
        nn.Conv2d(384, 256, 3, groups=2), nn.Linear(256 * 6 * 6, 4096),
        nn.Linear(4096, 4096), nn.Linear(4096, 1000))
    ours = AlexNet(num_classes=1000)
layer_summary(ours.net, (1, 3, 224, 224))  # gives the layers their shapes
convs = [(3, 96, 11), (48, 256, 5), (256, 384, 3), (192, 384, 3),
         (192, 256, 3)]  # channels that a kernel sees, kernels, side
matrices = [(9216, 4096), (4096, 4096), (4096, 1000)]
head = sum(m * n + n for m, n in matrices)
formula = sum(o * (i * k * k + 1) for i, o, k in convs) + head
assert formula == count_params(original) == 60_965_224
print(f"two towers {formula:,}; this section's {count_params(ours):,}; "
      f"dense part of the original {4 * head / 1e6:.1f} MB")
assert count_params(ours) == 50_844_008
assert round(4 * head / 1e6) == 235 and round(head / 1e6, 1) == 58.6
if importlib.util.find_spec("torchvision"):
    from torchvision.models import alexnet

    with torch.device("meta"):
        variant = alexnet(weights=None)
    assert count_params(variant) == 61_100_840
    assert 0 < count_params(variant) / formula - 1 < 0.0025
    assert [layer.out_channels for layer in variant.features
            if isinstance(layer, nn.Conv2d)] == [64, 192, 384, 256, 256]
    assert variant.features[0].padding == (2, 2)

# %% [markdown]
# torchvision's has one column and the channels 64, 192, 384, 256 and 256.
# Its documentation refers to a paper that Krizhevsky wrote in 2014, but there the fourth convolution has 384 channels; the 256 come from a configuration published with his code.
# So three of the five numbers of channels differ from the original's, while the totals differ by less than a quarter of a percent.

# %% tags=["hide-input"]
# check: the promises of scaled and cost_table
def refused(error, function, *args, **options):
    """Whether the call raises this kind of error."""
    try:
        function(*args, **options)
    except error:
        return True
    return False


assert [scaled(96, 0.25), scaled(3, 0.1), scaled(10, 1.26)] == [24, 1, 13]
assert refused(ValueError, scaled, 96, 0)
inner = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1))
relu = nn.ReLU()
parts = nn.Sequential(nn.LazyConv2d(4, 3), relu, nn.Dropout(0.9).eval(),
                      nn.BatchNorm2d(4), inner, relu, nn.Flatten(),
                      nn.LazyLinear(5, bias=False))
rows = cost_table(parts, (2, 1, 8, 8))  # 6 x 6 positions, two images
assert rows[0] == ("Conv2d", (2, 4, 6, 6), 40, 2 * 36 * 36)
assert rows[4] == ("Sequential", (2, 6, 6, 6), 20 + 30, 2 * 36 * (16 + 24))
assert rows[7] == ("Linear", (2, 5), 216 * 5, 2 * 216 * 5)
assert [row[0] for row in rows].count("ReLU") == 2 and len(rows) == 8
assert [p.training for p in parts][:4] == [True, True, False, True]
assert parts[3].num_batches_tracked == 0
assert refused(TypeError, cost_table, nn.Linear(3, 2), (1, 3))
twice = nn.Linear(3, 3)  # shared parameters are listed with both
assert [row[2:] for row in cost_table(nn.Sequential(twice, twice), (1, 3))
        ] == [(12, 9), (12, 9)]

# %% [markdown]
# ## Training
#
# ### An initializer that does nothing
#
# The layers above are lazy: they learn their input sizes from the first batch.
# Some published code calls the initializer in the constructor of such a network, for each layer whose type is `nn.Conv2d` or `nn.Linear`.
# At that moment no layer has this type and none has weights, so nothing happens and nothing complains.
# How would one notice?
# Xavier's weights for the first layer are bounded by $\sqrt{6/(11^2+11^2\cdot96)}$ (one channel in, 96 out), and PyTorch's default reaches four times as far.

# %%
# check 8.1-C6: the initializer works after the dry run, not before it
def init_by_type(layer):
    """Xavier for layers of exactly these types: no lazy ones."""
    if type(layer) in (nn.Conv2d, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)


blank = torch.zeros(1, 1, 65, 65)
torch.manual_seed(0)
good = apply_init(AlexNet(fc=32), blank, init_cnn).net[0].weight
bad_net = AlexNet(fc=32).net.apply(init_by_type)  # as in a constructor
layer_summary(bad_net, blank.shape)  # the dry run, too late
bad = bad_net[0].weight
bound = math.sqrt(6 / (121 + 121 * 96))
for name, weight in (("after the dry run", good), ("before it", bad)):
    print(f"{name}: largest weight {weight.abs().max():.4f}, "
          f"bound {bound:.4f}")
assert 0.95 * bound < good.abs().max() <= bound
assert 3 * bound < bad.abs().max() <= 1 / 11  # PyTorch's default
try:
    AlexNet().net.apply(init_cnn)  # tests with isinstance: an error
    raise AssertionError("a lazy layer was initialized")
except ValueError:
    pass

# %% [markdown]
# So we keep to the order of [Section 6.4](../06-builders-guide/04-lazy-initialization.ipynb): build, dry run, initialize, and only then the optimizer.
# `apply_init` does the second and the third, and `init_he` is the initializer for ReLU.
#
# ### Augmentation
#
# A mirrored coat is a coat, and so is one that stands a few pixels further left.
# With augmentation we add such knowledge about the labels; it has to be true (a mirrored "b" is a "d").
# We draw a mirroring and a shift for each image of a batch:

# %% tags=["export"]
def augment_batch(X, generator=None, margin=0.125):
    """Images X (n, c, h, w), flipped at random and cropped with a shift.

    Each image is mirrored with probability 1/2 and moved by up to
    `margin` times its size along each axis; zeros fill the gap. Random
    numbers come from `generator`, a generator of the CPU, or from
    PyTorch's own. Returns a new tensor of the shape, type and device of
    X; the same generator gives the same images on every device.
    """
    if X.ndim != 4 or not 0 <= margin < 1:
        raise ValueError(f"images of shape {tuple(X.shape)} and margin "
                         f"{margin}: pass (n, c, h, w) and 0 <= margin < 1.")
    n, _, h, w = X.shape
    flip = torch.rand(n, generator=generator) < 0.5  # (n,)
    X = torch.where(flip.to(X.device)[:, None, None, None], X.flip(-1), X)
    py, px = int(margin * h), int(margin * w)
    top = torch.randint(0, 2 * py + 1, (n,), generator=generator)
    left = torch.randint(0, 2 * px + 1, (n,), generator=generator)
    padded = nn.functional.pad(X, (px, px, py, py))
    rows = (top[:, None] + torch.arange(h)).to(X.device)  # (n, h)
    columns = (left[:, None] + torch.arange(w)).to(X.device)  # (n, w)
    index = torch.arange(n, device=X.device)[:, None, None]
    crop = padded.permute(0, 2, 3, 1)[index, rows[:, :, None],
                                      columns[:, None, :]]  # (n, h, w, c)
    return crop.permute(0, 3, 1, 2)

# %% tags=["hide-input"]
# check: the promises of augment_batch
count = 2000  # all images alike: the letter F, as floats and as bytes
letter = torch.zeros(1, 2, 16, 24)
letter[0, 0, 3:12, 9], letter[0, 0, 3, 9:15] = 1, 1
letter[0, 1, 7, 9:13] = 0.5
letter[0, 1, 15, 23] = 0.25  # at the edge: zeros come in behind it
many = letter.repeat(count, 1, 1, 1)
moved = augment_batch(many, torch.Generator().manual_seed(1))
again = augment_batch(many, torch.Generator().manual_seed(1))
torch.rand(1)  # a step of the common generator changes nothing
assert torch.equal(moved, again) and moved.shape == many.shape
assert torch.equal(many, letter.expand(count, -1, -1, -1))  # untouched
wanted = {}  # what may come out: mirrored or not, and every shift
padded = nn.functional.pad(letter, (3, 3, 2, 2))
for flip in (False, True):
    source = nn.functional.pad(letter.flip(-1), (3, 3, 2, 2)) if (
        flip) else padded
    for i in range(5):
        for j in range(7):
            wanted[source[0, :, i:i + 16, j:j + 24].numpy().tobytes()] = (
                flip, i, j)
seen = [wanted[image.contiguous().numpy().tobytes()] for image in moved]
assert len(set(seen)) == len(wanted) == 70
assert abs(sum(flip for flip, _, _ in seen) / count - 0.5) < 0.05
data_type = augment_batch((255 * many[:9]).byte(),
                          torch.Generator().manual_seed(1))
assert data_type.dtype == torch.uint8

# %% tags=["hide-input"]
# check: margins of no whole number of pixels, no generator, refusals
wide = torch.zeros(500, 1, 28, 28)
wide[:, :, 14, 14] = 1  # an eighth of 28 is 3.5: at most three pixels
_, _, i, j = augment_batch(wide, torch.Generator().manual_seed(4)).nonzero(
    as_tuple=True)
assert (i.min(), i.max()) == (11, 17) and (j.min(), j.max()) == (10, 17)
plain = augment_batch(many[:50], torch.Generator().manual_seed(2), margin=0)
assert all(torch.equal(image, letter[0]) or torch.equal(
    image, letter[0].flip(-1)) for image in plain)
torch.manual_seed(3)
first = augment_batch(many[:50])
assert not torch.equal(first, augment_batch(many[:50]))  # drawn anew
torch.manual_seed(3)
assert torch.equal(first, augment_batch(many[:50]))
assert refused(ValueError, augment_batch, letter[0])
assert refused(ValueError, augment_batch, letter, margin=1.0)

# %% tags=["hide-input"]
base = FashionMNIST(train_size=20, val_size=20)
examples = base.X_train[[0, 5, 8]]  # (3, 1, 28, 28)
tiles = []
for i in range(3):
    copies = examples[i].expand(7, -1, -1, -1)  # seven times the same
    changed = augment_batch(copies, torch.Generator().manual_seed(i))
    tiles += [examples[i, 0], *changed[:, 0]]
axes = d2l.show_images(tiles, 3, 8, titles=(["original"] + ["drawn"] * 7)
                       * 3, scale=0.9)
for ax in axes:
    ax.title.set_fontsize(7)
d2l.describe(axes[0].figure, """Three rows of eight pictures. The first of
    each row is a garment of the training set; the seven others show the
    same garment shifted by up to three pixels, some of them mirrored.""")

# %% [markdown]
# **Figure 8.1.3.** What `augment_batch` makes of three training images.
# Boots that look to the right come into the training set this way.
#
# Only training images are changed, and the data module sees to it.
# Colour changes do not apply to grey images.

# %% tags=["export"]
class AugmentedFashionMNIST(FashionMNIST):
    """Fashion-MNIST whose training batches pass through augment_batch.

    The validation batches stay as they are. The attribute `generator`,
    if it is set, orders the images and moves them.
    """

    def get_dataloader(self, train):
        if not train:
            return super().get_dataloader(train)
        generator = getattr(self, "generator", None)
        return d2l.BatchLoader(
            (self.train_images, self.y_train), self.batch_size,
            shuffle=True, generator=generator,
            transform=lambda X, y: (
                augment_batch(scale_bytes(X), generator), y))

# %% [markdown]
# ### The loop
#
# The training loop is the book's `Trainer`.
# For the many comparisons of this chapter we wrap it: no picture, an optimizer of our choice, one seed for the order of the images and for dropout.
# Kernels get the memory format `channels_last` ([Section 7.4](../07-convolutional-neural-networks/04-channels.ipynb)), which changes no weight, only how results are rounded, and lets many convolutions run faster on a CPU.

# %% tags=["export"]
def fit_quietly(model, data, epochs, optimizer=None, seed=0, num_gpus=0,
                trainer=Trainer):
    """Train with the book's Trainer, or another kind, without a picture.

    `optimizer` is called with the parameters and returns an optimizer;
    without it the model's own is used. `seed` sets the order of the
    training images and PyTorch's global generator, from which dropout
    draws. Returns the history: a dict of lists with one mean per epoch,
    "train_loss", "val_loss", "val_acc". Afterwards the model has its own
    `configure_optimizers` and display again, and kernels have their
    channels last in memory.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; it must be at least 1.")
    if any(is_lazy(p) for p in model.parameters()):
        raise ValueError("the model has lazy parameters; initialize it "
                         "with apply_init first.")
    display, own = model.board.display, vars(model).get(
        "configure_optimizers")  # set on this instance, rarely
    model.to(memory_format=torch.channels_last)
    data.generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    trainer = trainer(max_epochs=epochs, num_gpus=num_gpus)
    try:
        model.board.display = False
        if optimizer is not None:
            model.configure_optimizers = lambda: optimizer(
                model.parameters())
        trainer.fit(model, data)
    finally:
        model.board.display = display
        vars(model).pop("configure_optimizers", None)
        if own is not None:
            model.configure_optimizers = own
    return trainer.history

# %% tags=["hide-input"]
# check: the promises of AugmentedFashionMNIST
few = AugmentedFashionMNIST(batch_size=32, train_size=100, val_size=70)
same = FashionMNIST(batch_size=32, train_size=100, val_size=70)
for source in (few, same):
    source.generator = torch.Generator().manual_seed(0)
(X, y), (X_plain, y_plain) = (next(iter(source.train_dataloader()))
                              for source in (few, same))
assert torch.equal(y, y_plain) and not torch.equal(X, X_plain)
few.generator.manual_seed(0)
X_again, y_again = next(iter(few.train_dataloader()))
assert torch.equal(X, X_again) and torch.equal(y, y_again)
assert 0 < X.max() <= 1  # floats
second = next(iter(few.train_dataloader()))
assert not torch.equal(y, second[1])  # shuffled anew
for batch, wanted_batch in zip(few.val_dataloader(), same.val_dataloader(),
                               strict=True):
    assert torch.equal(batch[0], wanted_batch[0])
    assert torch.equal(batch[1], wanted_batch[1])
free = AugmentedFashionMNIST(batch_size=32, train_size=40, val_size=10)
drawn = []  # without a generator of its own: from PyTorch's
for _ in range(2):
    torch.manual_seed(1)
    drawn.append(next(iter(free.train_dataloader()))[0])
assert torch.equal(*drawn)

# %% tags=["hide-input"]
# check: the promises of fit_quietly
class Tiny(Classifier):
    def __init__(self, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5),
                                 nn.LazyLinear(10))


def tiny(seed=0):
    torch.manual_seed(seed)
    return apply_init(Tiny(), same.X_train[:1])


with_kernel = tiny()
with_kernel.kernel = nn.Conv2d(2, 3, 2)
fit_quietly(with_kernel, same, 1)
assert with_kernel.kernel.weight.stride()[1] == 1  # channels last
runs = [fit_quietly(tiny(), same, 2, seed=seed) for seed in (0, 0, 1)]
assert runs[0] == runs[1] != runs[2]
assert same.generator.initial_seed() == 1  # it orders the images
assert torch.initial_seed() == 1  # dropout draws from this one
twins = [tiny(), tiny()]  # what the generator did before is no matter
reseed = []
for twin, state in zip(twins, (5, 6)):
    torch.manual_seed(state)
    reseed.append(fit_quietly(twin, same, 2))
assert reseed[0] == reseed[1] == runs[0]
assert {key: len(values) for key, values in runs[0].items()} == {
    "train_loss": 2, "val_loss": 2, "val_acc": 2}

# %% tags=["hide-input"]
# check: fit_quietly leaves the model as it was
model = tiny()
used = []


def slow_sgd(parameters):
    assert not model.board.display  # no picture while it trains
    used.append(torch.optim.SGD(parameters, lr=0.0))
    return used[0]


class OtherTrainer(Trainer):
    pass


before = [p.clone() for p in model.parameters()]
fit_quietly(model, same, 1, slow_sgd)
assert all(map(torch.equal, before, model.parameters()))  # rate 0
assert used[0].param_groups[0]["params"][0] is model.net[2].weight
assert model.board.display and model.configure_optimizers().defaults[
    "lr"] == 0.1  # both as they were
fit_quietly(model, same, 1, trainer=OtherTrainer)  # its own optimizer
assert isinstance(model.trainer, OtherTrainer)
assert not torch.equal(before[0], model.net[2].weight)
model.configure_optimizers = own = lambda: used[0]
fit_quietly(model, same, 1, lambda p: torch.optim.SGD(p, lr=0.1))
assert model.configure_optimizers is own
assert refused(ZeroDivisionError, fit_quietly, model, same, 1,
               lambda p: 1 / 0)
assert model.configure_optimizers is own and model.board.display
assert refused(ValueError, fit_quietly, model, same, 0)
assert refused(ValueError, fit_quietly, Tiny(), same, 1)
partly = Tiny()
partly.known = nn.Linear(2, 2)  # one lazy layer is enough
assert refused(ValueError, fit_quietly, partly, same, 1)
assert partly.net[2].has_uninitialized_params()

# %% [markdown]
# Our laptop version has a quarter of the channels, 512 units in the dense layers and images enlarged to $80\times80$.
# (Enlarging adds no information; it keeps the published geometry, which needs 65 pixels.)
# It is trained with AdamW, an optimizer of Section 12.10 that scales each parameter's steps; the profile `gpu` trains the full network for ten epochs by SGD with learning rate 0.01, a smaller rate than LeNet's.

# %% tags=["rtol=0.15"]
def adamw(rate):
    """An optimizer for `fit_quietly`: AdamW with this learning rate."""
    return lambda parameters: torch.optim.AdamW(parameters, lr=rate)


data = FashionMNIST(128, (size, size), train_size=train_size,
                    val_size=val_size)
real = data.source == "real"
full_run = train_size >= 4000 and few_size >= 500 and few_epochs >= 16
torch.manual_seed(0)
model = apply_init(AlexNet(lr=sgd_rate, width=width, fc=fc),
                   data.X_train[:1], init_he)
start = model.net[0].weight.detach().clone()
model.plot_train_per_epoch = 8
history = fit_quietly(model, data, max_epochs, num_gpus=num_gpus,
                      optimizer=None if sgd_rate else adamw(1e-3))
print("validation accuracy after each epoch:",
      " ".join(f"{a:.2f}" for a in history["val_acc"]))

# %%
if full_run and real:
    assert history["val_acc"][-1] >= (0.68 if max_epochs < 10 else 0.85)

# %% tags=["rtol=0.2", "hide-input"]
_, ax = plt.subplots()
moments, losses = zip(*model.board.data["train_loss"])
ax.plot(moments, losses, label="training, with dropout")
ax.plot(range(1, max_epochs + 1), history["val_loss"], "s--",
        label="validation, without")
ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None),
       xticks=range(max_epochs + 1))
ax.legend()
d2l.describe(ax, """The training loss, a mean over an eighth of an epoch,
    starts above 3 and falls below 0.7 in three epochs. The validation loss
    at the end of each epoch lies close to the training loss there.""")
if full_run and real:
    last_part = losses[-1]
    assert abs(history["val_loss"][-1] - last_part) < 0.3

# %% [markdown]
# **Figure 8.1.4.** Training and validation loss stay close together.
# They are not measured alike: the training loss is that of the network with dropout, averaged while the weights change.
#
# Now the first filters.
# In the paper, trained on more than a million photographs, many of the $11\times11$ kernels became what people had designed by hand: detectors of edges at several angles and spacings, and blobs of colour.
# With a few thousand grey images and three epochs, what can have been learned?

# %% tags=["chaotic", "hide-input"]
learned = model.net[0].weight.detach().cpu()[:, 0]  # (24, 11, 11)
change = learned - start[:, 0]


def smoothness(kernels):
    """Correlation of adjacent weights, one number a kernel (n, k, k)."""
    k = kernels - kernels.mean(dim=(1, 2), keepdim=True)
    pairs = ((k[:, 1:] * k[:, :-1]).mean(dim=(1, 2))
             + (k[:, :, 1:] * k[:, :, :-1]).mean(dim=(1, 2))) / 2
    return pairs / k.square().mean(dim=(1, 2))  # (n,)


most = torch.linalg.vector_norm(change, dim=(1, 2)).argsort(
    descending=True)[:8]
fig, axes = plt.subplots(3, 8, figsize=(6.4, 2.6))
parts = (("start", start[:, 0]), ("learned", learned), ("change", change))
for line, (name, kernels) in zip(axes, parts):
    for ax, kernel in zip(line, kernels[most]):
        top = kernel.abs().max().item()
        ax.imshow(kernel, cmap="RdBu_r", vmin=-top, vmax=top)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, fontsize=8)
d2l.describe(fig, """Three rows of eight kernels of 11 by 11 weights, red
    for positive and blue for negative. At the start they are noise. After
    training they still look like noise to the eye, with broad lighter and
    darker regions. Their changes are smooth: large areas of one sign, some
    of them like edges or bars.""")
if full_run and real:
    before, after_it = smoothness(start[:, 0]), smoothness(change)
    assert before.abs().mean() < 0.15 and after_it[most].mean() > 0.4
    alike = torch.cosine_similarity(learned.flatten(1), start.flatten(1))
    if max_epochs < 10:
        assert alike.mean() > 0.7  # still mostly the start

# %% [markdown]
# **Figure 8.1.5.** The eight first-layer kernels that changed most: at the start, after training, and the difference, each scaled to its own largest weight.
#
# Against the paper's kernels these look like noise, and to a large part they are: it is the noise of the initialization, which three epochs did not wash out.
# The difference shows what training has added, and that is smooth: neighbouring weights moved together.
# It is tempting to see the beginnings of edge detectors there.
# But the images are smooth, enlarged ones above all, and a gradient with respect to a kernel is a sum of image patches with weights:

# %%
def first_gradient(images, y):
    """Gradient of a fresh network's first kernels (channels, 11, 11)."""
    torch.manual_seed(0)
    net = apply_init(AlexNet(width=width, fc=fc), images[:1], init_he).eval()
    net.loss(net(images), y).backward()
    assert not net.training  # no dropout in the way
    return net.net[0].weight.grad[:, 0]


images, y = data.X_train[:100], data.y_train[:100]
wrong = y[torch.randperm(100, generator=torch.Generator().manual_seed(1))]
noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(2))
grains = {}
for name, source, labels in (("images", images, y), ("noise", noise, y),
                             ("images with shuffled labels", images, wrong)):
    grains[name] = smoothness(first_gradient(source, labels)).nanmean().item()
    print(f"{name}: correlation of adjacent entries {grains[name]:.2f}")
if real:
    right, random, shuffled = grains.values()
    assert (wrong != y).float().mean() > 0.5
    assert random < 0.3 and min(right, shuffled) > 0.6
    assert abs(right - shuffled) < 0.1

# %% [markdown]
# At the start of training the gradient is as smooth with shuffled labels as with the right ones, and with noise in place of images it is not.
# So smooth changes alone do not show that anything about the classes was learned.

# %% [markdown]
# ## What did the parts buy?
#
# The paper's verdict on its own regularizers is clear: without augmentation the network overfits heavily, and so it does without dropout, which in turn about doubles the number of iterations until convergence.
# Do we see that here?
# The experiment turns both on and off, with everything else equal: a network with an eighth of the channels on 500 images of $65\times65$ pixels, 160 steps of AdamW with the same learning rate in all four arms, three seeds each.

# %%
small = (65, 65)
held_out = FashionMNIST(250, small, train_size=few_size, val_size=1000)


def make_net(seed, dropout=0.5):
    """AlexNet at an eighth of its width, for images of 65 pixels."""
    torch.manual_seed(seed)
    net = apply_init(AlexNet(width=0.125, fc=128), blank, init_he)
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    return net


def accuracy(net, images, y):
    """Share of images (n, 1, h, w) that `net` assigns to their class."""
    return net.accuracy(*predict(net, d2l.BatchLoader(
        (images, y), 250))).item()

# %% tags=["rtol=0.1"]
shaken = augment_batch(held_out.X_val, torch.Generator().manual_seed(0))


def run(seed, dropout, augment):
    """Accuracies on training images, held-out ones, and those moved."""
    kind = AugmentedFashionMNIST if augment else FashionMNIST
    few = kind(50, small, train_size=few_size, val_size=50)
    net = make_net(seed, dropout)
    starts.append(net.net[0].weight.sum().item())
    fit_quietly(net, few, few_epochs, adamw(2e-3), seed, num_gpus)
    return (accuracy(net, few.X_train, few.y_train),
            accuracy(net, held_out.X_val, held_out.y_val),
            accuracy(net, shaken, held_out.y_val))


starts = []  # a number that tells the first weights apart
arms = {"neither": (0.0, False), "dropout": (0.5, False),
        "augmentation": (0.0, True), "both": (0.5, True)}
results = {name: torch.tensor([run(seed, *arm)
                               for seed in range(num_seeds)])
           for name, arm in arms.items()}  # (seeds, 3) each
for name, values in results.items():
    train, val, after_move = values.mean(dim=0).tolist()
    print(f"{name:12s} training {train:.2f}, held out {val:.2f}, "
          f"held out and moved {after_move:.2f}")
steps = few_epochs * math.ceil(few_size / 50)
work = sum(count_macs(make_net(0), blank.shape).values()) / 1e6
print(f"{work:.2f} million multiply-accumulates for an image, "
      f"{steps} steps, in each arm")

# %% tags=["rtol=0.1", "hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.2))
for i, (name, values) in enumerate(results.items()):
    for column, color, marker, label in ((0, "C1", "o", "training"),
                                         (1, "C0", "s", "held out"),
                                         (2, "C2", "^", "held out, moved")):
        ax.plot(values[:, column], [-i] * num_seeds, marker, color=color,
                mfc="none" if column == 0 else color,
                label=label if i == 0 else None)
ax.set_yticks([-i for i in range(4)], labels=list(results))
ax.set(xlabel="accuracy", ylim=(-3.6, 0.6))
ax.legend(fontsize=8, loc="lower right")
d2l.describe(ax, """Accuracy for four arms, three seeds each. With neither,
    the training images are far to the right of the held-out ones. With
    dropout and with augmentation the two come closer, and with both they
    are closest, mainly because the accuracy on the training images is
    lower. The held-out accuracy is highest with neither. On moved held-out
    images the order is another: the arms without augmentation fall far to
    the left, those with it hardly move.""")

# %% [markdown]
# **Figure 8.1.6.** Accuracy on the 500 training images (as they are, without augmentation), on 1000 held-out ones, and on the same ones moved by `augment_batch`; a mark for each seed.

# %%
# check: accuracies as the text says; other starts, equal for all arms
every = [tuple(row) for values in results.values()
         for row in values.tolist()]
if full_run:
    assert len(set(every)) == len(every)  # other seeds and arms differ
assert len(set(starts[:num_seeds])) == num_seeds
assert starts == 4 * starts[:num_seeds]  # all arms start alike
assert (len(data.y_train), len(data.y_val)) == (train_size, val_size)
assert (len(held_out.y_train), len(held_out.y_val)) == (few_size, 1000)
assert real or data.source == "standin"
assert full_run or train_size < 4000 or few_size < 500 or few_epochs < 16
if full_run and real:
    gap = {name: values[:, 0] - values[:, 1]
           for name, values in results.items()}
    for name in ("dropout", "augmentation", "both"):
        assert gap["neither"].mean() > gap[name].mean() + 0.015
        assert results["neither"][:, 0].min() > results[name][:, 0].max()
    assert gap["both"].mean() < gap["neither"].mean() / 2
    if few_epochs < 30:
        assert results["neither"][:, 1].min() > results["both"][:, 1].max()
    fall = {name: (values[:, 1] - values[:, 2]).mean()
            for name, values in results.items()}
    assert min(fall["neither"], fall["dropout"]) > 0.1
    assert max(fall["augmentation"], fall["both"]) < 0.07
    assert (results["augmentation"][:, 2].min()
            > results["neither"][:, 2].max() + 0.03)

# %% [markdown]
# Look at the squares first.
# On average over the seeds each of the two parts narrows the gap between training and held-out images, and both together more than halve it.
# But they narrow it from the side of the training images, which are fitted less well, and all seeds with neither of them are better on held-out images than all seeds with both.
# A smaller gap is not a better network.
#
# The triangles tell what augmentation did buy.
# On held-out images that are moved and mirrored themselves, networks trained without it lose more than a tenth, and networks trained with it lose little: all seeds with augmentation alone are ahead of all seeds with neither.
# Dropout alone did not protect them.
# Augmentation teaches a particular indifference, and this pays where the pictures to come need it.
# The garments of Fashion-MNIST are all centred; the photographs of ImageNet are not.
#
# Would longer training put both ahead of neither on the squares?
# Exercise 8.1-5 trains on, with one seed, until at least 98 % of the images are right; it does not.
# None of this contradicts the paper, whose training made about 90 passes over more than a million images; it says that a regularizer has to be judged on the data, and at the length of training, where it is going to be used.

# %% [markdown]
# ## What is left of it
#
# Of AlexNet's parts, ReLU and its smooth relatives, augmentation and training on several accelerators at once are in daily use.
# The $11\times11$ kernels, local response normalization and the large dense head have gone, though not at once: VGG kept the head and GoogLeNet the normalization.
# The rest of this chapter tells how.
# As an architecture for new work AlexNet is history: torchvision's trained version gives the right first answer for 56.5 % of the validation images of ImageNet, while a ResNet-50 (Section 8.6), with less than half of the parameters and a training recipe of 2021, reaches 80.4 %.

# %% [markdown]
# ## Summary
#
# - Between LeNet and AlexNet lie methods (ReLU and dropout), data (ImageNet, presented in 2009, and its challenge of 1000 categories from 2010 on) and graphics processors.
# - AlexNet: five convolutions, two hidden dense layers, an output; 46.8 million parameters for one input channel and ten classes, 938 million multiply-accumulates at $224\times224$.
# - The dense layers hold 92 % of the parameters and do 4.6 % of the work; the convolutions have it the other way round.
# - An initializer called on a lazy network does nothing, without an error if it asks for exact types; a bound on the first kernel reveals it.
# - On 500 images and 160 steps dropout and augmentation narrowed the gap between training and held-out images by lowering the former; augmentation paid on moved images, which the centred held-out ones are not.
# - Smooth changes of the first kernels are no sign of learned classes: at the start, shuffled labels give gradients as smooth, and only noise in place of the images does not.

# %% [markdown]
# ## Exercises
#
# ### Exercise 8.1-1
#
# During training with batches of 128 images of $224\times224$, what takes more memory: the weights or the outputs of the layers, which are kept for the backward pass?

# %% [markdown]
# #### Solution 8.1-1

# %% [markdown]
# The outputs do, by a factor of more than three.
# We add up the outputs of all layers but `Flatten`, which shares the memory of its input, with four bytes for each number.
# (What PyTorch really keeps is somewhat less: of a convolution with ReLU behind it, only the output of the ReLU is needed.)
# Gradient and momentum would triple the memory of the weights; the outputs still win.

# %%
weight_bytes = 4 * count_params(big)
output_bytes = {n: sum(4 * math.prod(shape) for kind, shape, _, _ in
                       cost_table(big.net, (n, 1, 224, 224))
                       if kind != "Flatten") for n in (1, 128)}
print(f"weights {weight_bytes / 1e6:.0f} MB, outputs for 128 images "
      f"{output_bytes[128] / 1e6:.0f} MB")
maps = (2 * 96 * 54**2 + 96 * 26**2 + 2 * 256 * 26**2 + 256 * 12**2
        + 4 * 384 * 12**2 + 2 * 256 * 12**2 + 256 * 5**2)
units = 2 * 3 * 4096 + 10  # each hidden layer, its ReLU, its dropout
assert output_bytes[128] == 128 * output_bytes[1] == 512 * (maps + units)
assert weight_bytes == 187_058_984
assert 3 * weight_bytes < output_bytes[128] < 4 * weight_bytes

# %% [markdown]
# ### Exercise 8.1-2
#
# Which share of the parameters and of the multiply-accumulates belongs to the convolutions, and which to the dense layers?
# How do the shares move with the size of the image and with the number of channels?

# %% [markdown]
# #### Solution 8.1-2

# %% [markdown]
# A larger image adds positions to the convolutions and inputs to the first dense layer, both about in proportion to the area; the parameters of the convolutions stay as they are.
# So the dense layers' share of the parameters rises with the size of the image; their share of the operations is below 5 % at sides of 224 and 448, but more than a fifth at 65, where the second dense layer weighs more.
# With the width of all layers, dense ones included, parameters and operations of all but the outer layers grow with its square, and the shares hardly move.

# %%
def shares(side, width=1.0):
    """Dense layers' shares of parameters and operations."""
    with torch.device("meta"):
        net = AlexNet(width=width, fc=round(4096 * width)).net
    table = cost_table(net, (1, 1, side, side))
    return tuple(sum(row[i] for row in table if row[0] == "Linear")
                 / sum(row[i] for row in table) for i in (2, 3))


for side, part in ((224, 1.0), (448, 1.0), (224, 0.25)):
    in_params, in_macs = shares(side, part)
    print(f"side {side}, width {part}: dense layers {in_params:.1%} of "
          f"the parameters, {in_macs:.1%} of the operations")
    assert in_params > 0.9 and in_macs < 0.05
assert shares(224) == (share_params, share_macs)
assert shares(448)[0] > share_params + 0.05  # the first dense layer grows
assert abs(shares(224, 0.25)[0] - share_params) < 0.005
assert shares(65)[1] > 0.2  # few positions for the convolutions

# %% [markdown]
# ### Exercise 8.1-3
#
# Design a version for $28\times28$ images without enlarging them, and train it.

# %% [markdown]
# #### Solution 8.1-3

# %% [markdown]
# The large first kernel with stride 4 is there to shrink photographs.
# A $5\times5$ kernel with stride 2 leaves $14\times14$, the poolings (the second with windows of 2) leave 6 and 3, and padding in the last pooling keeps $2\times2$.
# The rest is unchanged.

# %% tags=["rtol=0.1"]
class AlexNet28(Classifier):
    """An eight-layer AlexNet for (n, channels, 28, 28)."""

    def __init__(self, lr=0.01, num_classes=10, width=0.25, fc=128):
        super().__init__()
        self.save_hyperparameters()
        c1, c2, c3, c4, c5 = (scaled(c, width)
                              for c in (96, 256, 384, 384, 256))
        self.net = nn.Sequential(
            nn.LazyConv2d(c1, kernel_size=5, stride=2, padding=2),
            nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
            nn.LazyConv2d(c2, kernel_size=5, padding=2),
            nn.ReLU(), nn.MaxPool2d(kernel_size=2, stride=2),
            nn.LazyConv2d(c3, kernel_size=3, padding=1), nn.ReLU(),
            nn.LazyConv2d(c4, kernel_size=3, padding=1), nn.ReLU(),
            nn.LazyConv2d(c5, kernel_size=3, padding=1), nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
            nn.Flatten(), nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(num_classes))


plain = FashionMNIST(64, train_size=small_size, val_size=1000)
torch.manual_seed(0)
tiny_net = apply_init(AlexNet28(), plain.X_train[:1], init_he)
assert cost_table(tiny_net.net, (1, 1, 28, 28))[12][1] == (1, 64, 2, 2)
score = fit_quietly(tiny_net, plain, 3, adamw(1e-3),
                    num_gpus=num_gpus)["val_acc"][-1]
print(f"accuracy after three epochs {score:.2f}, "
      f"{sum(count_macs(tiny_net, (1, 1, 28, 28)).values()) / 1e6:.1f} "
      "million multiply-accumulates for an image")
if full_run and real:
    assert score >= 0.75

# %% [markdown]
# ### Exercise 8.1-4
#
# Replace the ReLUs by sigmoids.
# What does the loss do in the steps in which the network with ReLU learns?

# %% [markdown]
# #### Solution 8.1-4

# %% [markdown]
# It stays near $\log10\approx2.30$, the loss of guessing, or above, for each of the three seeds, and the accuracy stays at guessing.
# The ReLU networks have the same weights at the start, the same order of images and the same steps (60, without dropout), so in this setting the activation alone makes the difference.
# That does not mean that sigmoids cannot express what is needed.
# [Section 8.5](05-batch-norm.ipynb) normalizes the inputs of the activations; with that, sigmoids learn too.

# %% tags=["rtol=0.1"]
def exchange(net, new):
    """Put a module made by `new` in the place of each ReLU."""
    for i, layer in enumerate(net.net):
        if isinstance(layer, nn.ReLU):
            net.net[i] = new()
    return net


part = FashionMNIST(25, small, train_size=3 * few_size, val_size=200)
first_epoch, scores = {}, {}
for name, new in (("ReLU", nn.ReLU), ("sigmoid", nn.Sigmoid)):
    pasts = [fit_quietly(exchange(make_net(seed, 0.0), new), part, 1,
                         adamw(1e-3), seed, num_gpus) for seed in range(3)]
    first_epoch[name] = [past["train_loss"][0] for past in pasts]
    scores[name] = [past["val_acc"][0] for past in pasts]
    print(f"{name}: mean loss of the first epoch",
          " ".join(f"{loss:.2f}" for loss in first_epoch[name]),
          "accuracy", " ".join(f"{acc:.2f}" for acc in scores[name]))
assert min(first_epoch["sigmoid"]) > 2.2
assert len({*first_epoch["ReLU"]}) == 3
if full_run and real:
    assert max(first_epoch["ReLU"]) < 1.9
    assert max(scores["sigmoid"]) < 0.2 and min(scores["ReLU"]) > 0.4

# %% [markdown]
# ### Exercise 8.1-5
#
# Go on with the experiment of the text: train on its 500 images without dropout and augmentation until the accuracy on these images is at least 0.98.
# How large is the gap to held-out images?
# Compare with both, after the same number of steps.

# %% [markdown]
# #### Solution 8.1-5

# %% [markdown]
# We train five epochs at a time with one and the same optimizer and look at the accuracy in between.
# The accuracy on held-out images stays more than a tenth below.
# With dropout and augmentation and as many steps the gap is less than half of that, and again because the training images are not fitted as well: on held-out images the network with neither is still ahead, and on moved ones the network with both.
# So knowing the images by heart is not yet the point where the regularizers pay on images like these.

# %% tags=["rtol=0.3"]
def until(net, data, limit, most=60):
    """Train until `limit` is reached on the plain images; epochs used."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for epochs in range(5, most + 1, 5):
        fit_quietly(net, data, 5, lambda _: optimizer, epochs, num_gpus)
        if accuracy(net, data.X_train, data.y_train) >= limit:
            break
    return epochs


plain = FashionMNIST(50, small, train_size=few_size, val_size=50)
varied = AugmentedFashionMNIST(50, small, train_size=few_size, val_size=50)
bare, regular = make_net(0, dropout=0.0), make_net(0)
epochs = until(bare, plain, 0.98, 60 if full_run else 5)
fit_quietly(regular, varied, epochs, adamw(2e-3), num_gpus=num_gpus)
marks = {}
for name, net in (("neither", bare), ("both", regular)):
    train, val, after_move = marks[name] = (
        accuracy(net, plain.X_train, plain.y_train),
        accuracy(net, held_out.X_val, held_out.y_val),
        accuracy(net, shaken, held_out.y_val))
    print(f"{name}: after {epochs} epochs training {train:.2f}, "
          f"held out {val:.2f}, held out and moved {after_move:.2f}")
gaps = [train - val for train, val, _ in marks.values()]
if full_run and real:
    assert marks["neither"][0] >= 0.98 and gaps[0] >= 0.1
    assert gaps[1] < gaps[0] / 2
    if few_epochs < 30:
        assert marks["neither"][1] > marks["both"][1]
    assert marks["both"][2] > marks["neither"][2] + 0.05

# %% tags=["hide-input"]
# check: it stops after `most` epochs, and at once if the limit is reached
hardly = FashionMNIST(50, small, train_size=50, val_size=50)
assert until(make_net(0), hardly, limit=2.0, most=10) == 10
assert until(make_net(0), hardly, limit=0.0, most=10) == 5

# %% [markdown]
# ### Exercise 8.1-6
#
# Convert the first dense layer into a $5\times5$ convolution.
# What can the network do then that it could not do before?

# %% [markdown]
# #### Solution 8.1-6

# %% [markdown]
# The dense layer has one weight for each channel and position of the $5\times5$ maps, and so has a convolution with a $5\times5$ kernel and as many output channels as there are units.
# `Flatten` runs through channels, rows and columns in the order of a kernel, so the weights need only another shape.
# On maps of $5\times5$ the kernel has one position and computes the same.
# On larger maps it has several, and the network looks at several overlapping windows of a larger image at once.

# %%
torch.manual_seed(1)
X224 = torch.randn(2, 1, 224, 224)
net = apply_init(AlexNet(width=0.125, fc=64), X224, init_he).net.eval()
body, dense_layer = net[:13], net[14]
conv = nn.Conv2d(32, 64, kernel_size=5)
with torch.no_grad():
    conv.weight.copy_(dense_layer.weight.reshape(64, 32, 5, 5))
    conv.bias.copy_(dense_layer.bias)
    torch.testing.assert_close(conv(body(X224)).flatten(1),
                               dense_layer(body(X224).flatten(1)),
                               rtol=1e-4, atol=1e-4)
    wide = conv(body(torch.randn(1, 1, 288, 256)))
print("maps of a picture of 288 x 256:", tuple(wide.shape[1:]))
assert wide.shape == (1, 64, 3, 2)

# %% [markdown]
# ## Sources
#
# - A. Krizhevsky, I. Sutskever and G. E. Hinton, ImageNet classification with deep convolutional neural networks, 2012, [doi:10.1145/3065386](https://doi.org/10.1145/3065386) (reprint of 2017): the network, its training, its regularizers and the results.
# - J. Deng et al., ImageNet: a large-scale hierarchical image database, 2009, [doi:10.1109/CVPR.2009.5206848](https://doi.org/10.1109/CVPR.2009.5206848).
# - O. Russakovsky et al., ImageNet large scale visual recognition challenge, 2015, [doi:10.1007/s11263-015-0816-y](https://doi.org/10.1007/s11263-015-0816-y): the challenge from 2010 on.
# - D. C. Cireşan et al., Flexible, high performance convolutional neural networks for image classification, 2011, [arXiv:1102.0183](https://arxiv.org/abs/1102.0183): convolutional networks on graphics processors, and their predecessors since 2006.
# - R. Girshick, J. Donahue, T. Darrell and J. Malik, Rich feature hierarchies for accurate object detection and semantic segmentation, 2014, [arXiv:1311.2524](https://arxiv.org/abs/1311.2524): a look back at a decade of SIFT and HOG.
# - A. Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014, [arXiv:1404.5997](https://arxiv.org/abs/1404.5997), the [documentation of torchvision](https://pytorch.org/vision/stable/models/generated/torchvision.models.alexnet.html), and [a thread of its developers](https://github.com/pytorch/vision/pull/463): the variant in use, with its accuracy, and where the channels of its fourth convolution come from.
# - R. Wightman, H. Touvron and H. Jégou, ResNet strikes back, 2021, [arXiv:2110.00476](https://arxiv.org/abs/2110.00476).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the form of AlexNet that is taught today, and the order of topics.
