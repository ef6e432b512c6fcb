# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#         size: 224
#         fc: 4096
#         max_epochs: 10
#         sgd_rate: 0.01
#         stack_size: 60000
#         stack_epochs: 10
#         num_gpus: 1
#       smoke:
#         train_size: 300
#         val_size: 100
#         max_epochs: 1
#         start_size: 256
#         stack_size: 200
#         stack_epochs: 1
#         num_seeds: 2
#     rehearsal:
#       train_size: 0.01
#       val_size: 0.02
#       size: 0.29
#       fc: 0.0625
#       max_epochs: 0.2
#       stack_size: 0.01
#       stack_epochs: 0.2
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
# # 8.2 VGG
#
# AlexNet showed that a deep convolutional network can win, and gave no hint how to build the next one: every layer of it has sizes of its own.
# The Visual Geometry Group in Oxford asked a simpler question with a rule for an answer: if all kernels are $3\times3$, how deep should the network be?
# We generate their family of networks from one block, check what small kernels save and what they do not, and find out why such a network may refuse to start.
#
# **You will**
#
# - generate VGG-11 to VGG-19 from a block and a tuple, and verify them against a reference;
# - compute what stacks of $3\times3$ kernels see and cost, and when they save nothing;
# - separate the parts that initialization and optimizer have in a plateau;
# - fold three parallel branches into one convolution, as networks in use today do.
#
# **Cost**: about 40 seconds on a CPU; the profile `gpu` trains on all images at $224\times224$; a download of 31 MB, once.

# %%
import importlib.util
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, init_cnn, init_he, layer_summary, receptive_field)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, predict)
from d2l_helpers.chapters.modern_cnns import (
    AlexNet, cost_table, fit_quietly, scaled)

d2l.use_style()

# %% tags=["parameters"]
train_size = 1600  # images for the training of narrow VGG-11
val_size = 1000
size = 32  # side of the images
fc = 256  # units of the dense layers
max_epochs = 3
sgd_rate = 0.0  # 0: AdamW; else the learning rate of plain SGD
start_size = 2560  # images of the comparison of starts, one epoch
stack_size = 1000  # images of the comparison of kernels
stack_epochs = 3
num_seeds = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## From layers to blocks
#
# The designers of chips once placed single transistors, then gates, then whole units from a library.
# Network design went the same way: from neurons to layers, from layers to *blocks*, and lately to whole trained networks that are taken over and adapted.
# VGG is among the first networks made of repeated blocks.
# In the challenge of 2014 the group came first in localization and second in classification, behind GoogLeNet ([Section 8.4](04-googlenet.ipynb)); which of the two is the first modern network is a matter of opinion.
#
# ![Left the eleven layers of AlexNet with four different kernel sizes and strides. In the middle a VGG block: several 3 by 3 convolutions with padding 1 and ReLU, then 2 by 2 pooling with stride 2. Right VGG-11: five blocks with 1, 1, 2, 2, 2 convolutions and 64, 128, 256, 512, 512 channels, whose maps have sides of 112, 56, 28, 14 and 7, then dense layers of 4096, 4096 and 1000.](img/vgg-blocks.svg)
#
# **Figure 8.2.1.** AlexNet layer by layer, and VGG-11 block by block.
#
# A *VGG block* is a number of $3\times3$ convolutions, each with padding 1 and a ReLU, and then maximum pooling over $2\times2$ with stride 2.
# The convolutions keep height and width, the pooling halves them.
# If a halving followed each convolution, a picture with side $d$ would be used up after $\log_2d$ layers, fewer than eight for 224; with several convolutions between two halvings the depth is free.

# %% tags=["export"]
def vgg_block(num_convs, out_channels):
    """`num_convs` convolutions 3x3, each with ReLU; halved by pooling."""
    layers = []
    for _ in range(num_convs):
        layers += [nn.LazyConv2d(out_channels, kernel_size=3, padding=1),
                   nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(kernel_size=2, stride=2))

# %% [markdown]
# The network is a sequence of blocks, given as a tuple `arch`, with the dense head of AlexNet behind.
# The channels double from block to block up to 512, while the positions become a quarter.

# %% tags=["export"]
class VGG(Classifier):
    """A VGG network; returns scores (n, num_classes).

    `arch` lists (number of convolutions, channels) for each block, such as
    VGG11; `width` multiplies the channels, `fc` is the width of the dense
    layers. An input (n, channels, h, w) of at least 32 by 32 suits the
    five blocks of the published networks.
    """

    def __init__(self, arch, lr=0.01, num_classes=10, fc=4096, width=1.0):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            *(vgg_block(n, scaled(c, width)) for n, c in arch),
            nn.Flatten(),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(num_classes))

# %% tags=["export"]
VGG11 = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))
VGG13 = ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512))
VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
VGG19 = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))

# %%
with torch.device("meta"):
    vgg11 = VGG(VGG11)
for kind, shape in layer_summary(vgg11.net, (1, 1, 224, 224)):
    if kind not in ("ReLU", "Dropout"):
        print(f"{kind:10s} {shape[1:]}")

# %%
# check 8.2-C1: channels and side after each block, then 25 088 numbers
shapes = [shape[1:] for _, shape in layer_summary(vgg11.net,
                                                  (1, 1, 224, 224))]
assert shapes[:5] == [(64, 112, 112), (128, 56, 56), (256, 28, 28),
                      (512, 14, 14), (512, 7, 7)]
assert shapes[5] == (25_088,) and shapes[-1] == (10,)
with torch.device("meta"):
    thin = [nn.Sequential(*(vgg_block(1, 1) for _ in range(n)))
            for n in (7, 8)]
    body = VGG(VGG11).net[:5]
assert layer_summary(thin[0], (1, 1, 224, 224))[-1][1] == (1, 1, 1, 1)
assert layer_summary(body, (1, 1, 32, 32))[-1][1] == (1, 512, 1, 1)
for net, side in ((thin[1], 224), (body, 31)):  # nothing left to halve
    try:
        net(torch.empty(1, 1, side, side, device="meta"))
        raise AssertionError(f"{side} pixels can be halved so often")
    except RuntimeError:
        pass

# %% [markdown]
# The number in the name counts layers with weights: eight convolutions and three dense layers in VGG-11.
# Is our generator right?
# Weights of equal shapes in equal order are strong evidence; equal outputs with the same weights, which we compare for VGG-11, are proof, as far as these inputs go.

# %%
# check 8.2-C2: the family; every weight has the shape of torchvision's
def weight_layers(net):
    return [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


family = {"VGG-11": VGG11, "VGG-13": VGG13, "VGG-16": VGG16,
          "VGG-19": VGG19}
rgb, published = (1, 3, 224, 224), {}
for name, arch in family.items():
    with torch.device("meta"):
        published[name] = VGG(arch, num_classes=1000).net
    layer_summary(published[name], rgb)  # gives the layers their shapes
params = {name: count_params(net) for name, net in published.items()}
assert list(params.values()) == [132_863_336, 133_047_848,
                                 138_357_544, 143_667_240]
if importlib.util.find_spec("torchvision"):
    from torchvision import models

    for name in family:
        with torch.device("meta"):
            reference = getattr(models, name.replace("-", "").lower())(
                weights=None)
        assert [m.weight.shape for m in weight_layers(reference)] == [
            m.weight.shape for m in weight_layers(published[name])]

# %% tags=["hide-input"]
# check: our network with the weights of torchvision's
if importlib.util.find_spec("torchvision"):
    torch.manual_seed(0)
    reference = models.vgg11(weights=None, num_classes=10,
                             init_weights=False).eval()
    with torch.device("meta"):
        ours = VGG(VGG11).eval()
    layer_summary(ours.net, rgb)
    for theirs, mine in zip(weight_layers(reference), weight_layers(ours),
                            strict=True):
        mine.weight, mine.bias = theirs.weight, theirs.bias  # shared
    picture = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected, scores = reference(picture), ours(picture)
    assert torch.equal(expected, scores)
    assert (scores.max() - scores.min()) > 1e-3  # and not all alike
    del reference, ours

# %% [markdown]
# ## What small kernels save
#
# ![Four grids. A 7 by 7 input, the 5 by 5 map after one 3 by 3 convolution, the 3 by 3 map after two, and the single value after three. A 3 by 3 window of each grid is outlined and joined to the value that it becomes.](img/vgg-stack.svg)
#
# **Figure 8.2.2.** An output of two stacked $3\times3$ convolutions sees $5\times5$ inputs, one of three sees $7\times7$.
#
# Take $c$ channels everywhere.
# One convolution with a $k\times k$ kernel has $k^2c^2$ weights, and a stack of $n$ kernels of $3\times3$, which sees as much if $k=2n+1$, has
#
# $$9nc^2 \quad\text{instead of}\quad (2n+1)^2c^2. \tag{8.2.1}$$
#
# Here $n$ is the number of stacked layers and $c$ the number of channels of each input and output; biases are left out.
# For $n=2$ these are $18c^2$ and $25c^2$; for $n=3$ they are $27c^2$ and $49c^2$, so three small layers that see $7\times7$ cost about as much as one $5\times5$.
# With stride 1 and padding, multiply-accumulates are in the same ratio.
# The stack also has a ReLU between its layers, so it is not limited to linear maps of its window.
#
# The saving depends on the premise.
# If the first of two $3\times3$ layers doubles the channels, as in VGG, they have $9c\cdot2c+9(2c)^2=54c^2$ weights and one $5\times5$ has $25c\cdot2c=50c^2$: no saving at all.
# If the second doubles them, the pair has only $9c^2+9c\cdot2c=27c^2$, with half as many channels in between.

# %%
def conv_weights(channels, kernel):
    """Weights of a chain of convolutions through these channels."""
    return sum(kernel**2 * a * b for a, b in zip(channels, channels[1:]))


def chain(channels, k):
    """The same chain as layers that keep height and width."""
    return nn.Sequential(*[nn.Conv2d(a, b, k, padding=k // 2, bias=False)
                           for a, b in zip(channels, channels[1:])])


for c in (2, 16):
    for channels, k, factor in (
            ([c] * 3, 3, 18), ([c] * 2, 5, 25), ([c] * 4, 3, 27),
            ([c] * 2, 7, 49), ([c, 2 * c, 2 * c], 3, 54),
            ([c, c, 2 * c], 3, 27), ([c, 2 * c], 5, 50)):
        layers = chain(channels, k)
        assert conv_weights(channels, k) == factor * c**2
        assert count_params(layers) == factor * c**2
        work = sum(count_macs(layers, (1, c, 12, 12)).values())
        assert work == factor * c**2 * 12**2  # so in the same ratio

# %% [markdown]
# How much do the published networks see?
# `receptive_field` of [Section 7.2](../07-convolutional-neural-networks/02-convolutions.ipynb) computes it from the layers, and a gradient confirms it: set all weights to positive numbers, ask which inputs have an influence on one output, and measure the square that they fill.
# (Pooling passes the gradient on to one winner only, so for this test we average instead.)

# %%
# check 8.2-C6: what an output sees; two linear 3x3 are one 5x5
def body_layers(arch):
    """(kernel, stride, padding) of each layer of the blocks."""
    return [layer for n, _ in arch
            for layer in [(3, 1, 1)] * n + [(2, 2, 0)]]


def support(arch, side):
    """Side of the square of inputs that reach the middle output."""
    X = torch.ones(1, 1, side, side, requires_grad=True)
    Y, ones = X, torch.ones(1, 1, 3, 3)
    for k, _, _ in body_layers(arch):
        Y = F.conv2d(Y, ones / 9, padding=1) if k == 3 else F.avg_pool2d(
            Y, 2)
    middle = Y.shape[-1] // 2
    gradient, = torch.autograd.grad(Y[0, 0, middle, middle], X)
    rows = gradient[0, 0].sum(dim=1).nonzero().flatten()
    return (rows.max() - rows.min() + 1).item()


fields = {name: receptive_field(body_layers(arch))[0]
          for name, arch in family.items()}
print(fields)
assert fields["VGG-11"] == 150 and fields["VGG-16"] == 212
for name in ("VGG-11", "VGG-16"):
    assert support(family[name], 320) == fields[name]
torch.manual_seed(0)
first, second = torch.randn(2, 1, 1, 3, 3, dtype=torch.float64)
X = torch.randn(1, 1, 12, 12, dtype=torch.float64)
joint = F.conv2d(first, second.flip(-1, -2), padding=2)  # (1, 1, 5, 5)
torch.testing.assert_close(F.conv2d(F.conv2d(X, first), second),
                           F.conv2d(X, joint))

# %% [markdown]
# An output in the middle of VGG-16's last block sees most of a $224\times224$ picture, one of VGG-11 two thirds of its side; the dense layers join what is left.
# The last two lines of the check show what a stack is without ReLU: two $3\times3$ kernels in a row are one $5\times5$ kernel, their convolution.
# With one channel the reverse does not hold: 18 numbers cannot make every 25.
# With enough channels between the two layers it can (Exercise 8.2-5).

# %% [markdown]
# ## What the family costs

# %% tags=["hide-input"]
names = [f"block {i}" for i in range(1, 6)] + ["dense"]
by_part, macs = {}, {}
for name, net in published.items():
    table = cost_table(net, rgb)
    by_part[name] = [row[2] for row in table[:5]] + [
        sum(row[2] for row in table[5:])]
    macs[name] = sum(row[3] for row in table)
_, ax = plt.subplots(figsize=(5.8, 2.6))
left = torch.zeros(4)
for i, part in enumerate(names):
    values = torch.tensor([parts[i] / 1e6 for parts in by_part.values()])
    ax.barh(range(4), values, left=left, label=part, height=0.6,
            color="#BBBBBB" if part == "dense" else f"C{i}")
    left = left + values
ax.set_yticks(range(4), labels=list(by_part))
ax.invert_yaxis()
ax.set(xlabel="parameters in millions", ylim=(3.6, -1.5))
ax.legend(fontsize=8, ncols=3, loc="upper left")
d2l.describe(ax, """A bar for each of VGG-11, 13, 16 and 19, made of the
    parameters of five blocks and of the dense part. The dense part, about
    124 million, is the same in all four and fills most of each bar; the
    blocks add 9 to 20 million, most of them in the last two blocks.""")

# %% [markdown]
# **Figure 8.2.3.** Parameters of the family by block and dense part, for three input channels and 1000 classes.
# The networks differ in the small part.

# %%
# check 8.2-C4: billions of multiply-accumulates at 224
for name in family:
    print(f"{name}: {params[name] / 1e6:.1f} million parameters, "
          f"{macs[name] / 1e9:.2f} billion multiply-accumulates")
assert [round(value / 1e9, 2) for value in macs.values()] == [
    7.61, 11.31, 15.47, 19.63]
assert {parts[-1] for parts in by_part.values()} == {123_642_856}

# %%
# check 8.2-C3: one channel, ten classes; and the narrow version
narrow = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
with torch.device("meta"):
    narrow_net = VGG(narrow)
layer_summary(narrow_net.net, (1, 1, 224, 224))
head = sum(count_params(part) for part in vgg11.net[5:])
assert count_params(vgg11) == 128_806_154
assert 0.925 < head / count_params(vgg11) < 0.935
assert count_params(narrow_net) == 43_093_322
assert narrow == tuple((n, c // 4) for n, c in VGG11)
with torch.device("meta"):
    quarter = VGG(VGG11, width=1 / 4)
layer_summary(quarter.net, (1, 1, 224, 224))
assert [p.shape for p in quarter.parameters()] == [
    p.shape for p in narrow_net.parameters()]
assert [m.p for m in vgg11.modules()
        if isinstance(m, nn.Dropout)] == [0.5, 0.5]

# %%
# check 8.2-C5: the first dense matrix
matrix = vgg11.net[6].weight
matrix_bytes = 4 * matrix.numel()
print(f"first dense matrix {tuple(matrix.shape)}: "
      f"{matrix_bytes / 1e6:.0f} MB = {matrix_bytes / 2**20:.0f} MiB")
assert matrix.shape == (4096, 25_088) and matrix_bytes == 411_041_792
assert matrix_bytes == 392 * 2**20

# %% [markdown]
# The accounts are AlexNet's, only more so: nine tenths of VGG-11 are in the head, most of that in one matrix of 411 MB, and the work, more than seven times AlexNet's, is in the convolutions.

# %% [markdown]
# ## Training, and a network that does not start
#
# A laptop version has a quarter of the channels (`narrow`), images of $32\times32$ and 256 units in the dense layers.
# The profile `gpu` trains the narrow network at $224\times224$ for ten epochs, by SGD with learning rate 0.01.

# %% tags=["rtol=0.15"]
def adamw(rate):
    return lambda parameters: torch.optim.AdamW(parameters, lr=rate)


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate,
                                              momentum=0.9)


data = FashionMNIST(128, (size, size), train_size=train_size,
                    val_size=val_size)
real = data.source == "real"
full_run = (train_size >= 1600 and start_size >= 2560
            and stack_size >= 1000 and stack_epochs >= 3)
torch.manual_seed(0)
model = apply_init(VGG(narrow, fc=fc, lr=sgd_rate), data.X_train[:1],
                   init_he)
history = fit_quietly(model, data, max_epochs, num_gpus=num_gpus,
                      optimizer=None if sgd_rate else adamw(1e-3))
print("validation accuracy after each epoch:",
      " ".join(f"{a:.2f}" for a in history["val_acc"]))

# %%
if size == 32:
    assert count_params(model) == 678_218
    assert 9.6e6 < sum(count_macs(model, (1, 1, 32, 32)).values()) < 9.8e6
if full_run and real:
    assert history["val_acc"][-1] >= 0.60

# %% [markdown]
# It trains, with He's weights and AdamW.
# The authors of VGG warn that a bad initialization can stall the learning of deep networks, and at first began theirs with some of the weights of a trained shallow one.
#
# Does a start depend on the initialization or on the optimizer?
# We exchange both: Xavier's or He's weights, SGD with momentum 0.9 at the rate 0.02 or AdamW at 0.001, three seeds each, everything else equal (half of the narrow channels, 80 steps with 32 images).

# %% tags=["rtol=0.2"]
first_images = FashionMNIST(32, (32, 32), train_size=start_size,
                            val_size=10)


def start(seed, init, optimizer, epochs=1):
    """Losses of narrow VGG-11 at half width, means of an eighth epoch."""
    torch.manual_seed(seed)
    net = apply_init(VGG(narrow, fc=256, width=0.5),
                     first_images.X_train[:1], init)
    net.plot_train_per_epoch = 8
    fit_quietly(net, first_images, epochs, optimizer, seed, num_gpus)
    losses = [loss for _, loss in net.board.data["train_loss"]]
    assert len(losses) == 8 * epochs
    return losses


cells = {(weights, name): [start(seed, init, optimizer)
                           for seed in range(num_seeds)]
         for weights, init in (("Xavier", init_cnn), ("He", init_he))
         for name, optimizer in (("SGD", sgd(0.02)),
                                 ("AdamW", adamw(1e-3)))}
last = {key: [run[-1] for run in runs] for key, runs in cells.items()}
for (weights, name), losses in last.items():
    print(f"{weights:6s} {name:5s} loss at the end:",
          " ".join(f"{loss:.2f}" for loss in losses))

# %% tags=["rtol=0.2", "hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.8))
styles = {"SGD": "-", "AdamW": "--"}
colors = {"Xavier": "C1", "He": "C0"}
for (weights, name), runs in cells.items():
    for i, run in enumerate(runs):
        ax.plot([10 * (j + 0.5) for j in range(len(run))], run, styles[name],
                color=colors[weights], lw=1.2,
                label=f"{weights}, {name}" if i == 0 else None)
ax.axhline(math.log(10), color="#888888", lw=0.8)
ax.set(xlabel="step", ylabel="training loss")
ax.legend(fontsize=8)
d2l.describe(ax, """Training loss over 80 steps, three curves for each of
    four combinations. Those of Xavier with SGD stay at log 10 = 2.3. The
    other nine fall, those of He with AdamW the fastest.""")

# %% [markdown]
# **Figure 8.2.4.** The start with two initializations and two optimizers, each point the mean of ten steps.

# %%
# check: losses as the text says; each seed starts anew; sizes as said
for runs in cells.values():  # each curve is a run of its own
    assert len({tuple(run) for run in runs}) == num_seeds
if full_run and real:
    assert all(abs(loss - math.log(10)) < 0.03
               for loss in last["Xavier", "SGD"])
    for key in (("He", "SGD"), ("Xavier", "AdamW"), ("He", "AdamW")):
        assert max(last[key]) < 2.2
    assert all(abs(loss - math.log(10)) < 0.05
               for run in cells["Xavier", "SGD"] for loss in run)
starts = []


def note(net, *_):
    """In the place of `fit_quietly`: notes the start, trains nothing."""
    starts.append(next(net.parameters()).sum().item())
    net.board.data["train_loss"] = 8 * [(0.0, 0.0)]


trains, fit_quietly = fit_quietly, note
for seed in (0, 0, 1):
    start(seed, init_he, sgd(0.02))
fit_quietly = trains
assert starts[0] == starts[1] != starts[2]
assert (len(data.y_train), len(data.y_val)) == (train_size, val_size)
assert len(first_images.y_train) == start_size
assert real or data.source == "standin"
assert full_run or train_size < 1600 or start_size < 2560 or (
    stack_size < 1000 or stack_epochs < 3)

# %% [markdown]
# Xavier's weights with SGD stay at $\log10$ with each of the seeds.
# Exchange either of the two, and these seeds leave it within the 80 steps, some of them late.
# So at these rates neither the initialization nor the optimizer alone makes the plateau; the pair does.
#
# The rates are part of that statement, as we shall see, and so is the number of steps.
# Give the first seed of Xavier with SGD six times as many:

# %% tags=["rtol=0.2"]
longer = torch.tensor(start(0, init_cnn, sgd(0.02), epochs=6)).reshape(6, 8)
print("mean loss of each 80 steps:",
      " ".join(f"{loss:.2f}" for loss in longer.mean(dim=1)))
if full_run and real and not num_gpus:
    assert ((longer[:3] - math.log(10)).abs() < 0.05).all()
    assert longer[-1].mean() < 2.2

# %% [markdown]
# It left after all: with this seed the plateau was a late start, not the end.
#
# What do the two initializations do to the signal?
# For a layer from $c_{\mathrm i}$ to $c_{\mathrm o}$ channels Xavier's variance is $c_{\mathrm i}/(c_{\mathrm i}+c_{\mathrm o})$ times He's, which keeps the mean square through a ReLU ([Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb)).
# With equal channels the mean square is halved in each layer, and where the channels double it shrinks to a third.

# %%
def xavier_scale(module):
    """Normal weights and zero biases as `init_he`, Xavier's variance."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)


def he_scale(module):
    """Uniform weights, default biases as `init_cnn`, He's variance."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")


def without_biases(module):
    """Uniform weights of Xavier's variance as `init_cnn`, zero biases."""
    init_cnn(module)
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.zeros_(module.bias)

# %% tags=["rtol=0.05"]
moments, spread, slopes = {}, {}, {}
X, y = first_images.X_train[:32], first_images.y_train[:32]
for weights, init in (
        ("Xavier", init_cnn), ("Xavier, zero biases", without_biases),
        ("the same, normal", xavier_scale), ("He", init_he)):
    torch.manual_seed(0)
    net = apply_init(VGG(narrow, fc=256), X[:1], init).eval()
    Z, moments[weights] = X, []
    with torch.no_grad():
        for block in net.net[:5]:
            Z = block(Z)
            moments[weights].append(Z.square().mean().item())
        spread[weights] = net(X).std(dim=0).mean().item()
    net.loss(net(X), y).backward()
    slopes[weights] = max(m.weight.grad.norm().item() for m in net.modules()
                          if isinstance(m, nn.Conv2d))
    print(f"{weights:19s} mean squares",
          " ".join(f"{value:.5f}" for value in moments[weights]),
          f"; scores vary by {spread[weights]:.4f}, "
          f"largest gradient {slopes[weights]:.3f}")

# %%
factor = torch.tensor([17, 17 * 3, 17 * 3 * 6, 17 * 3 * 36, 17 * 3 * 144])
expected = torch.tensor(moments["He"]) / factor
bare = torch.tensor(moments["the same, normal"])
torch.testing.assert_close(bare, expected, rtol=1e-3, atol=0)
if real:
    falling = moments["Xavier"]
    assert all(a > b for a, b in zip(falling, falling[1:]))
    assert falling[4] < falling[0] / 20
    zeroed = moments["Xavier, zero biases"]
    assert falling[4] > 5 * max(zeroed[4], bare[4])
    assert max(moments["He"]) < 5 * min(moments["He"])
    assert spread["Xavier"] < spread["He"] / 50
    assert slopes["Xavier"] < slopes["He"] / 50

# %% [markdown]
# With Xavier's weights the signal shrinks from block to block; with He's it keeps its order of magnitude.
# At the end of the Xavier network the scores hardly differ between images, and the gradients of its convolutions are tiny.
# (The default biases that `init_cnn` leaves slow the decay: with zeros, the second row, it is faster.
# The third row has He's draws at Xavier's scale and zero biases, and decays against the last exactly as the factors say.)
#
# The two initializers differ in three respects, though: the scale of the weights, their distribution, uniform or normal, and the biases.
# We exchange the scale alone, and run He's weights at a higher rate as well, all with SGD and the same seeds.

# %% tags=["rtol=0.2"]
swapped = {"Xavier's scale, the rest He's": (xavier_scale, 0.02),
           "He's scale, the rest Xavier's": (he_scale, 0.02),
           "He's weights, rate 0.05": (init_he, 0.05)}
swapped = {name: torch.tensor([start(seed, init, sgd(rate))[-1]
                               for seed in range(num_seeds)])
           for name, (init, rate) in swapped.items()}
for name, losses in swapped.items():
    print(f"{name:29s} loss at the end:",
          " ".join(f"{loss:.2f}" for loss in losses))
    assert len(set(losses.tolist())) == num_seeds
if full_run and real:
    stays, leaves, fast = swapped.values()
    assert ((stays - math.log(10)).abs() < 0.05).all()
    assert (leaves < 2.2).all()
    assert ((fast - math.log(10)).abs() < 0.05).all()

# %% [markdown]
# At the rate 0.02 the plateau goes with the scale: with Xavier's scale the network stayed there for 80 steps in both variants, and with He's it left.
# SGD takes steps in proportion to the gradient, while AdamW divides by its running size, which fits the escape of AdamW from the same weights.
# But a small signal is not the only way onto the plateau.
# At the rate 0.05 He's weights are there too at the end, though they began with large gradients: at that rate the better start was no help.
# The authors of VGG note that Xavier's weights let even their deep networks start without pretraining; batch, rate, width and classes were different there.

# %% [markdown]
# ## Three branches that become one
#
# Plain stacks of $3\times3$ convolutions are easy for compilers and chips, and hard to train when they are deep.
# *RepVGG* (Ding and others, 2021) separates the two: it trains a block with three parallel branches, a $3\times3$ convolution, a $1\times1$ convolution and the identity, each followed by batch normalization, and adds them up (without the identity where a layer changes the number of channels or the size).
# Before deployment the branches are folded into a single $3\times3$ kernel.
# Networks for phones and for real-time detection such as MobileOne and YOLOv6 use the same trick.
#
# Why is this possible?
# Batch normalization (Section 8.5) in evaluation mode multiplies each channel by a fixed number and adds another one, so each branch is a linear map of the input plus a constant.
# A $1\times1$ kernel is a $3\times3$ kernel with zeros around, and so is the identity.
# For channel $o$ of one branch,
#
# $$\gamma_o\frac{[\mathbf{K}*\mathbf{X}]_o-\mu_o}{\sqrt{\sigma_o^2+\epsilon}}+\beta_o
# =\Big[\frac{\gamma_o}{\sqrt{\sigma_o^2+\epsilon}}\mathbf{K}*\mathbf{X}\Big]_o+\beta_o-\frac{\gamma_o\mu_o}{\sqrt{\sigma_o^2+\epsilon}}. \tag{8.2.2}$$
#
# Here $\mathbf{K}\in\mathbb{R}^{c\times c\times3\times3}$ is the kernel of the branch, $*$ the cross-correlation with padding 1, $\mathbf{X}\in\mathbb{R}^{c\times h\times w}$ the input; $\gamma_o,\beta_o$ are the trained scale and shift, $\mu_o,\sigma_o^2$ the stored mean and variance and $\epsilon$ a small constant.
# The kernels and the constants of the three branches are added.

# %% tags=["export"]
class RepBlock(nn.Module):
    """relu(bn(conv3x3(X)) + bn(conv1x1(X)) + bn(X)), shape kept.

    X has shape (n, c, h, w). `fuse` gives one convolution that computes
    the sum in front of the ReLU as this block does in evaluation mode.
    """

    def __init__(self, c):
        super().__init__()
        self.convs = nn.ModuleList([
            nn.Conv2d(c, c, kernel_size=3, padding=1, bias=False),
            nn.Conv2d(c, c, kernel_size=1, bias=False)])
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for _ in range(3))

    def forward(self, X):
        branches = [self.convs[0](X), self.convs[1](X), X]
        return torch.relu(sum(norm(branch) for norm, branch in
                              zip(self.norms, branches)))

    def fuse(self):
        """An nn.Conv2d, 3x3 with bias, on the device of the block."""
        large, small = (conv.weight for conv in self.convs)
        c = len(large)
        eye = torch.eye(c).to(large)[:, :, None, None]  # (c, c, 1, 1)
        kernels = [large] + [nn.functional.pad(kernel, (1, 1, 1, 1))
                             for kernel in (small, eye)]
        weight, bias = torch.zeros_like(large), large.new_zeros(c)
        for kernel, norm in zip(kernels, self.norms):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight += scale[:, None, None, None] * kernel
            bias += norm.bias - scale * norm.running_mean
        fused = nn.Conv2d(c, c, 3, padding=1, device="meta")  # draws nothing
        fused.weight, fused.bias = nn.Parameter(weight), nn.Parameter(bias)
        return fused

# %%
# check 8.2-C7: one convolution for three branches, in evaluation mode
torch.manual_seed(0)
block = RepBlock(8)
with torch.no_grad():
    for norm in block.norms:  # as if trained
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()
drawn = torch.get_rng_state()
fused = block.fuse()
assert torch.equal(torch.get_rng_state(), drawn)  # nothing drawn
assert block.training and all(p.requires_grad and p.is_leaf
                              for p in fused.parameters())
X = torch.randn(4, 8, 10, 10)
block.eval()
with torch.no_grad():
    torch.testing.assert_close(torch.relu(fused(X)), block(X),
                               rtol=1e-5, atol=1e-5)
    assert (fused(X) < 0).any()  # the ReLU comes after the sum
    block.train()
    assert (block(X) - torch.relu(fused(X))).abs().max() > 0.1
print(f"{count_params(block)} parameters become {count_params(fused)}")
assert count_params(fused) == 9 * 64 + 8
assert block.double().fuse().weight.dtype == torch.float64
tight, Z = block.eval(), torch.randn(2, 8, 5, 5).double()
for norm in tight.norms:  # variances as small as an epsilon of 0.001
    norm.eps = 1e-3
    norm.running_var.fill_(norm.eps)
with torch.no_grad():
    torch.testing.assert_close(torch.relu(tight.fuse()(Z)), tight(Z))
assert RepBlock(2).to("meta").fuse().bias.device.type == "meta"

# %% [markdown]
# In training mode the two differ, since each normalization uses the mean and variance of the batch.
# What is trained is the network with three branches; what runs is a plain stack of $3\times3$ convolutions and ReLUs, as in VGG.

# %% [markdown]
# ## Do small kernels pay?
#
# VGG's authors compared a shallow network of $5\times5$ kernels with a deeper one of pairs of $3\times3$ on ImageNet, and the deep one was clearly better.
# That comparison, at equal channels, changes more than the kernels: the deep network has more layers and ReLUs, fewer weights and more operations.

# %% tags=["hide-input"]
paper = {"pairs of 3x3": (VGG13, 3), "one 5x5 each": (
    tuple((1, c) for _, c in VGG13), 5)}
bodies = {}
for name, (arch, k) in paper.items():
    c_in, side, weights, work = 3, 224, 0, 0
    for n, c in arch:
        block_weights = conv_weights([c_in] + [c] * n, k)
        weights, work = (weights + block_weights,
                         work + block_weights * side**2)
        c_in, side = c, side // 2
    bodies[name] = weights, work
    print(f"{name}: {weights / 1e6:.1f} million weights, "
          f"{work / 1e9:.1f} billion multiply-accumulates in convolutions")
deep, shallow = bodies.values()
assert deep[0] < 0.9 * shallow[0] and deep[1] > 1.1 * shallow[1]
assert deep[1] == sum(row[3] for row in cost_table(
    published["VGG-13"], rgb)[:5])

# %% [markdown]
# We take equal operations instead, and add a control: pairs of $3\times3$ *without* a ReLU in between, which away from the borders compute nothing that one $5\times5$ with as many channels could not.
# All three have three stages with a pooling behind each and global average pooling (Section 8.3) at the end, nearly the same multiply-accumulates (the channels of the $5\times5$ are chosen for that), the same 1000 images of $20\times20$, 120 steps with 25 of them, AdamW, and three seeds.
#
# Two things have to be fair besides.
# He's variance makes up for the half that a ReLU removes, so in a layer that no ReLU follows it is twice too large; the linear pairs start with half of it there.
# And a learning rate that suits one network may not suit another, so each runs at two rates, 0.002 and 0.01.

# %%
class Stages(Classifier):
    """Stages of `depth` convolutions k x k; scores (n, 10).

    With `inner` a ReLU follows each convolution, without it only the
    last one of a stage. Global average pooling precedes the dense layer.
    """

    def __init__(self, channels, k, depth, inner=True, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        layers = []
        for c in channels:
            for i in range(depth):
                layers.append(nn.LazyConv2d(c, k, padding=k // 2))
                if inner or i == depth - 1:
                    layers.append(nn.ReLU())
            layers.append(nn.MaxPool2d(2))
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1),
                                 nn.Flatten(), nn.LazyLinear(10))


def macs_of(*options):
    with torch.device("meta"):
        return sum(count_macs(Stages(*options), (1, 1, 20, 20)).values())


pair = (8, 16, 32)
wide = (10, 18, 36)  # channels of the 5x5
arms = {"one 5x5": (wide, 5, 1), "two 3x3, linear": (pair, 3, 2, False),
        "two 3x3": (pair, 3, 2)}
for name, options in arms.items():
    print(f"{name:15s} {macs_of(*options):9,d} multiply-accumulates")
assert abs(macs_of(wide, 5, 1) / macs_of(pair, 3, 2) - 1) < 0.01
assert macs_of(pair, 3, 2) == macs_of(pair, 3, 2, False)
assert [sum(isinstance(layer, nn.ReLU) for layer in Stages(*options).net)
        for options in arms.values()] == [3, 3, 6]

# %% tags=["rtol=0.1"]
images, brief = (FashionMNIST(25, (20, 20), train_size=stack_size,
                              val_size=n) for n in (1000, 10))


def he_stages(options):
    """`Stages`, as large a signal behind each layer as in front of it."""
    net = apply_init(Stages(*options), images.X_train[:1], init_he)
    for layer, after in zip(net.net, net.net[1:]):
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.Conv2d):
            with torch.no_grad():
                layer.weight /= math.sqrt(2)  # no ReLU behind this one
    return net


def compete(seed, options, rate):
    """Accuracy on 1000 held-out images after the training."""
    torch.manual_seed(seed)
    net = he_stages(options)
    fit_quietly(net, brief, stack_epochs, adamw(rate), seed, num_gpus)
    scores, _ = predict(net, images.val_dataloader())
    return net.accuracy(scores, images.y_val).item()


rates = (0.002, 0.01)
results = {(name, rate): torch.tensor([compete(seed, options, rate)
                                       for seed in range(num_seeds)])
           for rate in rates for name, options in arms.items()}
for (name, rate), values in results.items():
    print(f"rate {rate:5.3f}, {name:15s} accuracy",
          " ".join(f"{value:.3f}" for value in values))

# %% tags=["rtol=0.1", "hide-input"]
_, ax = plt.subplots(figsize=(5.0, 2.3))
for i, name in enumerate(arms):
    for rate, marker, shift in zip(rates, "os", (0.13, -0.13)):
        values = results[name, rate]
        ax.plot(values, [shift - i] * num_seeds, marker, color=f"C{i}",
                alpha=0.7, mfc="none" if marker == "s" else None)
        ax.plot(values.mean(), shift - i, "|", ms=16, mew=2, color=f"C{i}")
for marker, rate in zip("os", rates):
    ax.plot([], [], marker, color="#666666", label=f"rate {rate}",
            mfc="none" if marker == "s" else None)
ax.legend(fontsize=8, ncols=2, loc="lower left")
ax.set_yticks([-i for i in range(3)], labels=list(arms))
ax.set(xlabel="accuracy on held-out images", ylim=(-3.1, 0.5))
d2l.describe(ax, """Accuracy on held-out images for three networks, at
    two learning rates, three seeds each. At the smaller rate the three
    networks overlap. At the larger rate the mean of one 5x5 is the
    highest, by little.""")

# %% [markdown]
# **Figure 8.2.5.** Three networks of equal multiply-accumulates after equally many steps, at two rates; marks are seeds, bars their means.

# %%
# check: accuracies as the text says; a fair start, with each seed anew
means = {key: values.mean().item() for key, values in results.items()}
for values in results.values():  # each mark is a run of its own
    assert len(set(values.tolist())) > 1
for name, options in arms.items():  # a fair start: the signal keeps its size
    torch.manual_seed(0)
    net = he_stages(options).net
    X = images.X_train[:4]
    torch.testing.assert_close(  # global average pooling, then one layer
        net(X), net[-1](net[:-3](X).mean(dim=(2, 3))))
    for layer, after in zip(net[2:], net[3:]):  # the first has few weights
        if isinstance(layer, nn.Conv2d):
            gain = layer.weight.square().sum(dim=(1, 2, 3)).mean()
            linear = isinstance(after, nn.Conv2d)
            assert abs(gain / (1 if linear else 2) - 1) < 0.2
if full_run and real and stack_epochs < 10:
    small, large = ([means[name, rate] for name in arms] for rate in rates)
    best = [max(pair) for pair in zip(small, large)]
    seeds = min((values.max() - values.min()).item() for (name, rate), values
                in results.items() if means[name, rate] in best)
    assert max(best) - min(best) < seeds  # no order worth a sentence
    assert min(best) > 0.6 and best[2] < best[1] + 0.01
    lead = [row[0] - row[1] for row in (small, large)]  # of one 5x5
    assert lead[1] - lead[0] > 0.01  # it depends on the rate

# %% tags=["hide-input"]
# check: each seed starts anew, and always in the same way
starts.clear()
fit_quietly = note
for seed in (0, 0, 1):
    compete(seed, (pair, 3, 2), 0.01)
fit_quietly = trains
assert starts[0] == starts[1] != starts[2]
assert len(images.y_train) == len(brief.y_train) == stack_size
assert len(images.y_val) == 1000

# %% [markdown]
# Here small kernels buy nothing that these runs can show.
# At each network's better rate the means lie as close together as the seeds of one network, and the pair with a ReLU is not ahead of its linear twin.
# The rate moves these means as far as the kernel does: from 0.002 to 0.01 the $5\times5$ gains a little and the linear pair loses, so the lead of one over the other depends on the rate.
# Two rates are no tuning and 120 steps no full training; on so few runs we assert no order.
#
# That does not refute VGG.
# Its comparison, on ImageNet, had larger pictures, deeper networks, a hundred times as many classes and more than a thousand times as many images.
# But "two $3\times3$ are better than one $5\times5$" belongs to such a setting, not to the kernels alone: what the stack saves in weights and adds in ReLUs has to be worth something to the task.
# In practice $3\times3$ became the standard for years, and networks of the 2020s such as ConvNeXt (Section 8.8) returned to larger kernels, $7\times7$ with one channel each.

# %% [markdown]
# ## Summary
#
# - A VGG block is $n$ convolutions $3\times3$ and one halving; a tuple `arch` of $(n, \text{channels})$ generates VGG-11 to VGG-19, with weights of the same shapes as torchvision's and, for VGG-11, the same outputs.
# - Two $3\times3$ see $5\times5$ for $18c^2$ weights instead of $25c^2$, three see $7\times7$ for $27c^2$ instead of $49c^2$; where channels double, two cost more than one $5\times5$.
# - The dense head holds nine tenths of VGG-11's parameters, the convolutions do nearly all of the work.
# - At the rate 0.02 a narrow VGG-11 stayed at $\log10$ for 80 steps with Xavier's weights *and* SGD; He's scale, which keeps the signal's size through a ReLU, or AdamW got it off. At 0.05 He's weights did not.
# - Parallel linear branches with batch normalization fold into one $3\times3$ kernel: RepVGG trains three branches and runs a plain stack of convolutions.
# - At equal operations and steps on 1000 small images, one $5\times5$, a linear pair and a pair of $3\times3$ came out alike, each at the better of two rates; the lead of one over another depended on the rate.

# %% [markdown]
# ## Exercises
#
# ### Exercise 8.2-1
#
# The printed shapes of VGG-11 have nine rows: five blocks, `Flatten`, three dense layers.
# Where are its eleven layers?

# %% [markdown]
# #### Solution 8.2-1

# %% [markdown]
# Only layers with weights are counted: 1, 1, 2, 2 and 2 convolutions inside the five blocks and three dense layers.
# `Flatten`, pooling, ReLU and dropout have none.

# %%
def layers_with_weights(net):
    """Numbers of convolutions and of dense layers."""
    return tuple(sum(isinstance(m, kind) for m in net.modules())
                 for kind in (nn.Conv2d, nn.Linear))


print({name: layers_with_weights(net) for name, net in published.items()})
inside = [layers_with_weights(part)[0] for part in vgg11.net[:5]]
assert inside == [1, 1, 2, 2, 2]
for name, net in published.items():
    assert sum(layers_with_weights(net)) == int(name[-2:])
    assert layers_with_weights(net)[1] == 3

# %% [markdown]
# ### Exercise 8.2-2
#
# Compare AlexNet and VGG-11 in parameters and multiply-accumulates, separately for convolutions and dense layers (RGB, $224\times224$, 1000 classes).

# %% [markdown]
# #### Solution 8.2-2

# %% [markdown]
# The dense part of VGG-11 is more than two and a half times that of AlexNet, because $512\cdot7\cdot7$ numbers leave the body instead of $256\cdot5\cdot5$.
# The convolutions do about eight times as much.
# In both networks they are the small part of the parameters and the large part of the work.

# %%
with torch.device("meta"):
    alexnet = AlexNet(num_classes=1000).net
split = {}
for name, net in (("AlexNet", alexnet), ("VGG-11", published["VGG-11"])):
    table = cost_table(net, rgb)
    flat = [row[0] for row in table].index("Flatten")
    split[name] = [sum(row[i] for row in part) for i in (2, 3)
                   for part in (table[:flat], table[flat:])]
    print(f"{name:7s} parameters {split[name][0]:11,d} + "
          f"{split[name][1]:11,d}, operations {split[name][2]:13,d} + "
          f"{split[name][3]:11,d}")
assert split["AlexNet"] == [3_747_200, 47_096_808, 962_858_112, 47_087_616]
assert split["VGG-11"] == [9_220_480, 123_642_856, 7_485_456_384,
                           123_633_664]
assert sum(split["VGG-11"][2:]) == macs["VGG-11"]

# %% [markdown]
# ### Exercise 8.2-3
#
# Derive the tuples of VGG-16 and VGG-19 from that of VGG-13 by a rule, build the networks, and say where the additional parameters and operations go.

# %% [markdown]
# #### Solution 8.2-3

# %% [markdown]
# Add one convolution to each of the last three blocks, once for VGG-16 and twice for VGG-19.
# The extra layers have $9\cdot(256^2+2\cdot512^2)$ weights and their biases, 5.3 million each time, most of them where there are few positions, and they add the same number of operations each time.

# %%
def deeper(arch, more):
    """`more` convolutions for each of the last three blocks."""
    return arch[:2] + tuple((n + more, c) for n, c in arch[2:])


assert deeper(VGG13, 1) == VGG16 and deeper(VGG13, 2) == VGG19
extra = 9 * (256**2 + 2 * 512**2) + 256 + 2 * 512
for arch, name in ((VGG16, "VGG-16"), (VGG19, "VGG-19")):
    with torch.device("meta"):
        net = VGG(arch, num_classes=1000).net
    layer_summary(net, rgb)
    more = arch[-1][0] - 2
    assert count_params(net) == params[name] == (
        params["VGG-13"] + more * extra)
assert macs["VGG-19"] - macs["VGG-16"] == macs["VGG-16"] - macs["VGG-13"]
print(f"{extra:,} parameters in each of the two steps")

# %% [markdown]
# ### Exercise 8.2-4
#
# What changes with inputs of 56 or 84 pixels instead of 224?
# Train one such network.

# %% [markdown]
# #### Solution 8.2-4

# %% [markdown]
# Five halvings leave $\lfloor56/32\rfloor=1$ and $\lfloor84/32\rfloor=2$ positions instead of 7, so the first dense matrix has 512 and 2048 inputs instead of 25 088.
# The convolutions' work falls with the area, to about a sixteenth and a seventh.
# The accuracy after one epoch on a few hundred images shows that the network runs, not how good it is.

# %% tags=["rtol=0.2"]
for side in (56, 84, 224):
    with torch.device("meta"):
        net = VGG(VGG11).net
    table = cost_table(net, (1, 1, side, side))
    work = sum(row[3] for row in table[:5])
    print(f"{side}: {table[4][1][1:]}, {sum(r[2] for r in table):11,d} "
          f"parameters, {work / 1e6:.0f} million operations in the blocks")
    left = side // 32
    assert table[4][1] == (1, 512, left, left)
    assert net[6].in_features == 512 * left**2
    if side == 224:
        full_work = work
    else:
        small_work = work
assert full_work / small_work > 7  # the area alone: (224 / 84)**2 = 7.1
few = FashionMNIST(20, (56, 56), train_size=start_size // 4, val_size=500)
torch.manual_seed(0)
net = apply_init(VGG(narrow, fc=128, width=0.5), few.X_train[:1], init_he)
score = fit_quietly(net, few, 1, adamw(2e-3), num_gpus=num_gpus)["val_acc"]
print(f"56 pixels, one epoch: accuracy {score[0]:.2f}")

# %% [markdown]
# ### Exercise 8.2-5
#
# Give each stage of the last experiment 16, 32 and 64 channels.
# How do parameters and multiply-accumulates of one $5\times5$ and of two $3\times3$ compare now?
# And can two $3\times3$ without a ReLU between them compute every $5\times5$ kernel?
# Count the directions in which their joint kernel can move.

# %% [markdown]
# #### Solution 8.2-5

# %% [markdown]
# With these channels the pair has *more* parameters and operations, not fewer, since every stage at least doubles its channels (the premise of (8.2.1) does not hold).
# Depth, parameters and cost all differ, so a comparison at equal channels could not say which of them made a difference.
#
# The joint kernel is a function of the weights of both layers, and the rank of its Jacobian counts the directions.
# With equal channels they are fewer than the numbers of a $5\times5$ kernel: 17 of 25 with one channel, since a factor can move from one kernel to the other, which takes one direction from the 18 weights.
# Where the channels double, the rank at a random point is full, so near its kernel every $5\times5$ kernel is in reach.
# From one channel to eight, the first stage of the experiment, this is plain: four of the eight maps in between can shift the picture to the corners of a $3\times3$ window, and from there a $3\times3$ kernel reaches each of the 25 places.

# %%
def joint(first, second):
    """The 5x5 kernel (c_in, c_out, 5, 5) that two 3x3 kernels make."""
    return F.conv2d(first.transpose(0, 1), second.flip(-1, -2), padding=2)


def directions(c_in, c_mid, c_out):
    """Rank of the map from two 3x3 kernels to their joint 5x5 kernel."""
    first = torch.randn(c_mid, c_in, 3, 3, dtype=torch.float64)
    second = torch.randn(c_out, c_mid, 3, 3, dtype=torch.float64)
    X = torch.randn(1, c_in, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(  # the pair is one convolution
        F.conv2d(F.conv2d(X, first), second),
        F.conv2d(X, joint(first, second).transpose(0, 1)))
    parts = torch.autograd.functional.jacobian(joint, (first, second))
    return torch.linalg.matrix_rank(torch.cat(
        [part.reshape(25 * c_in * c_out, -1) for part in parts], 1)).item()


with torch.device("meta"):
    one, two = (Stages((16, 32, 64), 5, 1), Stages((16, 32, 64), 3, 2))
cost = [sum(count_macs(net, (1, 1, 28, 28)).values()) for net in (one, two)]
print([count_params(net) for net in (one, two)], "parameters,", cost,
      "multiply-accumulates")
assert count_params(one) == 65_162 and count_params(two) == 72_442
assert cost == [5_331_840, 7_338_880]
torch.manual_seed(0)
for c_in, c_out in ((1, 1), (3, 3), (1, 8), (2, 4), (4, 8)):
    rank, numbers = directions(c_in, c_out, c_out), 25 * c_in * c_out
    print(f"{c_in} to {c_out} channels: {rank} of {numbers} directions")
    assert (rank == numbers) == (c_out >= 2 * c_in)
assert directions(1, 1, 1) == 17

# %% [markdown]
# ### Exercise 8.2-6
#
# Turn the dense layers into convolutions and feed pictures of $320\times320$ to a network for $224\times224$.

# %% [markdown]
# #### Solution 8.2-6

# %% [markdown]
# The first dense layer becomes a $7\times7$ convolution, the others become $1\times1$ convolutions.
# At 320 pixels the body leaves $10\times10$ positions, on which a $7\times7$ kernel has $4\times4$ places: a map of scores, one vector for each window of $224\times224$ in steps of 32 pixels.
# At the inner borders a window sees its neighbours' pixels where a cut-out window has padding, so the scores are not equal: in this untrained network two of them differ by a tenth to a quarter.

# %%
def dense_to_conv(net, side):
    """A VGG's nn.Sequential with convolutions for its dense layers.

    `side` is that of the last maps for which `net` was made.
    """
    flat = [type(part).__name__ for part in net].index("Flatten")
    parts, k = list(net[:flat]), side
    for part in net[flat + 1:]:
        if isinstance(part, nn.Linear):
            conv = nn.Conv2d(part.in_features // k**2, part.out_features,
                             kernel_size=k)
            with torch.no_grad():
                conv.weight.copy_(part.weight.reshape(conv.weight.shape))
                conv.bias.copy_(part.bias)
            part, k = conv, 1
        parts.append(part)
    return nn.Sequential(*parts)


torch.manual_seed(0)
picture = torch.randn(2, 3, 320, 320)
fixed = apply_init(VGG(VGG11, num_classes=1000, width=1 / 16, fc=64),
                   picture[..., :224, :224], init_he).net.eval()
sliding = dense_to_conv(fixed, 7).eval()
with torch.no_grad():
    scores = sliding(picture)
    torch.testing.assert_close(sliding(picture[..., :224, :224])[..., 0, 0],
                               fixed(picture[..., :224, :224]),
                               rtol=1e-4, atol=1e-4)
    for i, j in ((0, 0), (2, 1)):
        window = fixed(picture[..., 32 * i:, 32 * j:][..., :224, :224])
        gap = (scores[..., i, j] - window).norm() / window.norm()
        assert 0.1 < gap < 0.25
print("scores of a picture of 320 x 320:", tuple(scores.shape))
assert scores.shape == (2, 1000, 4, 4)
try:
    fixed(picture)
    raise AssertionError("a dense layer took 10 x 10 positions")
except RuntimeError:
    pass

# %% [markdown]
# ## Sources
#
# - K. Simonyan and A. Zisserman, Very deep convolutional networks for large-scale image recognition, 2014, [arXiv:1409.1556](https://arxiv.org/abs/1409.1556): the family, the comparison with $5\times5$ kernels, the places in the challenge of 2014.
# - X. Ding et al., RepVGG: making VGG-style ConvNets great again, 2021, [arXiv:2101.03697](https://arxiv.org/abs/2101.03697).
# - P. K. A. Vasu et al., MobileOne: an improved one millisecond mobile backbone, 2022, [arXiv:2206.04040](https://arxiv.org/abs/2206.04040).
# - K. Weng et al., EfficientRep, 2023, [arXiv:2302.00386](https://arxiv.org/abs/2302.00386): such blocks in YOLOv6.
# - Z. Liu et al., A ConvNet for the 2020s, 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545): larger kernels again.
# - K. He et al., Delving deep into rectifiers, 2015, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): the initialization for ReLU.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the narrow version and the order of topics.
