# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         image_size: 96
#         width: 1.0
#         train_size: 60000
#         batch_size: 128
#         max_epochs: 10
#         sgd_rate: 0.01
#         grid_size: 60000
#         val_size: 10000
#         num_gpus: 1
#       smoke:
#         train_size: 200
#         max_epochs: 1
#         grid_size: 100
#         num_seeds: 2
#     rehearsal:
#       image_size: 0.7
#       width: 0.125
#       train_size: 0.0125
#       batch_size: 0.25
#       max_epochs: 0.2
#       grid_size: 0.01
#       val_size: 0.1
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
# # 8.4 GoogLeNet and Inception
#
# Which kernel is best, $1\times1$, $3\times3$ or $5\times5$?
# GoogLeNet, seven of which together won the classification task of ImageNet in 2014, refused to choose and used all of them, side by side, with about a fifth of the operations of VGG-11 and a tenth of those of VGG-16.
# This section builds it, counts how much of that economy is due to its small $1\times1$ layers, and uses a control to ask what the many branches are good for.
#
# **You will**
#
# - build an Inception block and derive its shapes, its parameters, and what its $1\times1$ reductions save;
# - assemble a network from stem, body and head, and find a deviation in a widely used implementation by counting;
# - cross normalization with the optimizer and say which of the two a plain network needs;
# - compare four branches with a single one at equal operations, over three seeds.
#
# **Cost**: about a minute on a CPU; the profile `gpu` trains on all images; a download of 31 MB, once.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, init_he, layer_summary, receptive_field)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, predict)
from d2l_helpers.chapters.modern_cnns import (
    VGG, VGG11, VGG16, AlexNet, NiN, fit_quietly, scaled)

d2l.use_style()

# %% tags=["parameters"]
image_size = 28  # from 65 on, the whole GoogLeNet trains
width = 0.125  # times the published channels, in the networks that train
train_size = 1200
batch_size = 32
max_epochs = 2
sgd_rate = 0.1
grid_size = 600  # images of Exercise 1
val_size = 500
num_seeds = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## Four branches
#
# GoogLeNet joins three threads: the $1\times1$ convolution and the global average of [NiN](03-nin.ipynb); repeated blocks, which [VGG](02-vgg.ipynb) used in the same year; and kernels of several sizes.
# AlexNet and NiN begin with large kernels and go on with small ones, VGG-11 has $3\times3$ throughout; GoogLeNet has several sizes in the same block.
# (The capital L in its name is a bow to LeNet; *Inception* alludes to a film and to NiN, a network in a network.)
#
# Its block sends the same input through four *branches*:
#
# - a $1\times1$ convolution;
# - a $1\times1$ convolution, then a $3\times3$ one with padding 1;
# - a $1\times1$ convolution, then a $5\times5$ one with padding 2;
# - $3\times3$ maximum pooling with stride 1 and padding 1, then a $1\times1$ convolution.
#
# All branches keep height and width, so their outputs can be *concatenated* along the channel axis.
# ReLU follows each convolution.
#
# ![A box at the bottom, the input, sends arrows into four columns: a 1 by 1 convolution; a 1 by 1 convolution and above it a 3 by 3 one; a 1 by 1 convolution and a 5 by 5 one; maximum pooling and a 1 by 1 convolution. Arrows from the four columns end in a box at the top, the concatenation of their channels.](img/inception-block.svg)
#
# **Figure 8.4.1.** An Inception block; $c_1,\dots,c_4$ and the reductions $r_2$, $r_3$ are numbers of channels.

# %% tags=["export"]
def conv_relu(out_channels, kernel_size, norm=False, **options):
    """Convolution and ReLU; with `norm` batch normalization in between."""
    return nn.Sequential(
        nn.LazyConv2d(out_channels, kernel_size, **options),
        *([nn.LazyBatchNorm2d()] if norm else []), nn.ReLU())

# %% tags=["export"]
class Inception(nn.Module):
    """Four branches side by side, their channels concatenated.

    `c1` and `c4` are the channels of the 1x1 and of the pooling branch;
    `c2` and `c3` are pairs (reduction, channels) of the 3x3 and of the 5x5
    branch. (n, c, h, w) -> (n, c1 + c2[1] + c3[1] + c4, h, w).
    """

    def __init__(self, c1, c2, c3, c4, norm=False):
        super().__init__()
        self.branches = nn.ModuleList([
            conv_relu(c1, 1, norm),
            nn.Sequential(conv_relu(c2[0], 1, norm),
                          conv_relu(c2[1], 3, norm, padding=1)),
            nn.Sequential(conv_relu(c3[0], 1, norm),
                          conv_relu(c3[1], 5, norm, padding=2)),
            nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1),
                          conv_relu(c4, 1, norm))])

    def forward(self, X):
        return torch.cat([branch(X) for branch in self.branches], dim=1)

# %% [markdown]
# The optional batch normalization is the subject of [Section 8.5](05-batch-norm.ipynb); the network of 2014 had none.
# The first block of GoogLeNet, 3a, takes 192 maps to $64+128+32+32=256$:

# %%
torch.manual_seed(0)
block = Inception(64, (96, 128), (16, 32), 32)
X = torch.randn(1, 192, 28, 28)
parts = [branch(X) for branch in block.branches]
for part in parts:
    print(tuple(part.shape))
print("together", tuple(block(X).shape), count_params(block), "parameters")

# %%
# check 8.4-C1: block 3a; each branch sees the extent that it should
assert [part.shape[1] for part in parts] == [64, 128, 32, 32]
assert torch.equal(block(X), torch.cat(parts, dim=1))
assert block(X).shape == (1, 256, 28, 28) and (block(X) >= 0).all()
assert count_params(block) == 163_696
assert not torch.equal(block(X)[..., 13, 13], block(X)[..., 14, 14])
extents = []  # along the middle row: which pixels reach the middle output?
for branch in block.branches:
    source = X.clone().requires_grad_()
    branch(source)[0, :, 14, 14].sum().backward()
    reached = source.grad[0].abs().sum(dim=(0, 1)) > 0  # by column
    extents.append(reached.nonzero().flatten().tolist())
assert extents[0] == [14] and extents[3] == [13, 14, 15]
assert extents[1] == [13, 14, 15] and extents[2] == list(range(12, 17))

# %% [markdown]
# Why so many branches?
# The authors gave two reasons: what is of interest in an image comes in several sizes, so it should be looked at with several; and units that respond together are mostly close together, so small kernels should get many channels and large ones few, in place of a sparse layer that hardware computes slowly.
# Those are reasons, not measurements, and this section ends with a control.

# %% [markdown]
# ## What the reductions save
#
# Large kernels over many channels are expensive: a $k\times k$ convolution from $c$ to $c'$ channels has $k^2cc'$ weights (and as many multiply-accumulates at each position).
# A $1\times1$ convolution to $r<c$ channels before it brings this to
#
# $$\underbrace{cr}_{1\times1}+\underbrace{k^2rc'}_{k\times k}=r\,(c+k^2c')\quad\text{instead of}\quad k^2cc'. \tag{8.4.1}$$
#
# Here $c$ and $c'$ are the numbers of input and output channels, $r$ is the reduction and $k$ the side of the kernel.
# It pays if $r<k^2cc'/(c+k^2c')$.
# In block 3a the $3\times3$ branch has $c=192$, $r=96$, $c'=128$ and the $5\times5$ branch $c=192$, $r=16$, $c'=32$:

# %%
def branch_weights(c, k, out, r=None):
    """Weights of a k x k branch, behind a reduction to r channels."""
    return k * k * c * out if r is None else r * (c + k * k * out)


direct = [branch_weights(192, 3, 128), branch_weights(192, 5, 32)]
reduced = [branch_weights(192, 3, 128, 96), branch_weights(192, 5, 32, 16)]
print(direct, "->", reduced, f"{sum(direct) / sum(reduced):.2f} times fewer")

# %%
# check 8.4-C5: 374,784 weights without and 144,896 with the reductions
real_ones = [sum(layer.weight.numel() for layer in branch.modules()
                 if isinstance(layer, nn.Conv2d))
             for branch in block.branches[1:3]]
assert reduced == real_ones and sum(reduced) == 144_896
assert sum(direct) == 374_784
assert abs(sum(direct) / sum(reduced) - 2.59) < 0.005
least = 9 * 192 * 128 / (192 + 9 * 128)  # from here on it does not pay
assert branch_weights(192, 3, 128, math.ceil(least)) > direct[0]
assert branch_weights(192, 3, 128, math.floor(least)) < direct[0]

# %% [markdown]
# ## Stem, body, head
#
# GoogLeNet is divided into three parts more clearly than the networks of the sections before, and we will meet this division in those that follow:
#
# - a *stem* of ordinary convolutions, which finds simple features and makes the maps small quickly;
# - a *body* of like blocks in groups, with a pooling layer between the groups;
# - a *head*, which turns features into the answer to the task, here the global average and one dense layer. Another task, such as detection, takes another head.
#
# ![Boxes from bottom to top. Image, 1 by 96 by 96. Stem: 7 by 7 convolution with stride 2 and pooling, 64 by 24 by 24; 1 by 1 and 3 by 3 convolution and pooling, 192 by 12 by 12. Body: two Inception blocks and pooling, 480 by 6 by 6; five blocks and pooling, 832 by 3 by 3; two blocks, 1024 by 3 by 3. Head: global average, 1024; dense, 10.](img/inception-network.svg)
#
# **Figure 8.4.2.** GoogLeNet without its auxiliary heads, and shapes for images of $96\times96$.
#
# The paper gives no formula for the numbers of channels in the nine blocks.
# In the first two of them the branches have the ratios $2:4:1:1$ and $4:6:3:2$; before the $3\times3$ convolution the input is reduced to a half, and before the $5\times5$ one to $\frac1{12}$ in block 3a and to $\frac18$ in block 3b.
# The pooling between the groups has a $3\times3$ window, stride 2 and padding 1.
#
# In training, the original had two more heads in the middle of the body, whose losses were added with weight 0.3; they were meant to bring gradient to the lower blocks.
# A later paper by some of the authors found that they did not speed up the early training, and read their effect, late in training, as one of regularization (Szegedy and others, 2016).
# We leave them out, and with them two parts of the original without parameters: local response normalization in the stem and dropout before the dense layer.

# %% tags=["export"]
class InceptionNet(Classifier):
    """Five parts b1() to b5() of a subclass, and a dense layer on top.

    Returns scores (n, num_classes). `width` multiplies the channels, `norm`
    adds batch normalization after each convolution.
    """

    def __init__(self, lr=0.01, num_classes=10, width=1.0, norm=False):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            self.b1(), self.b2(), self.b3(), self.b4(), self.b5(),
            nn.LazyLinear(num_classes))

    def conv(self, channels, kernel_size, **options):
        return conv_relu(scaled(channels, self.width), kernel_size,
                         self.norm, **options)

    def inception(self, *channels):
        """An Inception block (c1, c2, c3, c4) with scaled channels."""
        c1, c2, c3, c4 = (
            tuple(scaled(n, self.width) for n in c) if isinstance(c, tuple)
            else scaled(c, self.width) for c in channels)
        return Inception(c1, c2, c3, c4, self.norm)

    def pool(self):
        return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

# %% [markdown]
# The five parts, with the published channels: `b1` and `b2` are the stem, `b5` ends with the global average.

# %% tags=["export"]
class GoogLeNet(InceptionNet):
    """GoogLeNet without auxiliary heads, for images of any size.

    In training with `norm` a part with one position needs more than one
    image in the batch, as every batch normalization does.
    """

    def b1(self):
        return nn.Sequential(self.conv(64, 7, stride=2, padding=3),
                             self.pool())

    def b2(self):
        return nn.Sequential(self.conv(64, 1), self.conv(192, 3, padding=1),
                             self.pool())

    def b3(self):
        return nn.Sequential(
            self.inception(64, (96, 128), (16, 32), 32),
            self.inception(128, (128, 192), (32, 96), 64), self.pool())

    def b4(self):
        return nn.Sequential(
            self.inception(192, (96, 208), (16, 48), 64),
            self.inception(160, (112, 224), (24, 64), 64),
            self.inception(128, (128, 256), (24, 64), 64),
            self.inception(112, (144, 288), (32, 64), 64),
            self.inception(256, (160, 320), (32, 128), 128), self.pool())

    def b5(self):
        return nn.Sequential(
            self.inception(256, (160, 320), (32, 128), 128),
            self.inception(384, (192, 384), (48, 128), 128),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())

# %%
with torch.device("meta"):
    model = GoogLeNet()
    summary = layer_summary(model.net, (1, 1, 96, 96))
for name, shape in summary:
    print(f"{name:12s} {shape[1:]}")
print(f"{count_params(model):,d} parameters")

# %%
# check 8.4-C2: the shapes of the figure, and all nine blocks
assert [shape[1:] for _, shape in summary] == [
    (64, 24, 24), (192, 12, 12), (480, 6, 6), (832, 3, 3), (1024,), (10,)]
blocks = [m for m in model.modules() if isinstance(m, Inception)]


def block_outputs(net):
    """Output channels of each Inception block, branch by branch."""
    return [[[m for m in branch.modules()
              if isinstance(m, nn.Conv2d)][-1].out_channels
             for branch in m.branches]
            for m in net.modules() if isinstance(m, Inception)]


assert [sum(block) for block in block_outputs(model)] == [
    256, 480, 512, 512, 512, 528, 832, 832, 1024]  # also C1
half, whole = ([m.out_channels for m in net.modules()
                if isinstance(m, nn.Conv2d)]
               for net in (GoogLeNet(width=0.5), model))
assert [2 * n for n in half] == whole  # the stem too

# %%
# check 8.4-C3: parameters for one channel and ten classes, and as published
def on_meta(make, shape):
    """(parameters, MACs) of a network, counted on the device meta."""
    with torch.device("meta"):
        net = make()
        macs = sum(count_macs(net, shape).values())
    return count_params(net), macs


published = on_meta(lambda: GoogLeNet(num_classes=1000), (1, 3, 224, 224))
assert count_params(model) == 5_977_530 and published[0] == 6_998_552
convolved = sum(m.out_channels for m in model.modules()
                if isinstance(m, nn.Conv2d))  # two numbers each, with norm
assert on_meta(lambda: GoogLeNet(norm=True), (1, 1, 96, 96))[0] == (
    5_977_530 + 2 * convolved)

# %%
# check 8.4-C4: multiply-accumulates at 96 and at 224 pixels
macs = {size: on_meta(GoogLeNet, (1, 1, size, size))[1] for size in (96, 224)}
print({size: f"{value:,d}" for size, value in macs.items()})
assert round(macs[96] / 1e6) == 276 and round(macs[224] / 1e6) == 1503

# %% [markdown]
# ### Cheaper than what?
#
# GoogLeNet is often called cheaper than its predecessors.
# That depends on the currency.
# We count with colour images of $224\times224$ and 1000 classes, and add a control: the same network without the reductions in its $3\times3$ and $5\times5$ branches.

# %%
class Unreduced(GoogLeNet):
    """GoogLeNet whose large kernels see all channels."""

    def inception(self, *channels):
        block = super().inception(*channels)
        for branch in block.branches[1:3]:
            branch[0] = nn.Identity()
        return block


image = (1, 3, 224, 224)
price = {"AlexNet": on_meta(lambda: AlexNet(num_classes=1000), image),
         "VGG-11": on_meta(lambda: VGG(VGG11, num_classes=1000), image),
         "VGG-16": on_meta(lambda: VGG(VGG16, num_classes=1000), image),
         "GoogLeNet": published,
         "unreduced": on_meta(lambda: Unreduced(num_classes=1000), image)}
for name, (params, count) in price.items():
    print(f"{name:10s} {params / 1e6:6.1f} million parameters, "
          f"{count / 1e9:5.2f} billion multiply-accumulates")

# %%
params, count = ({name: pair[i] for name, pair in price.items()}
                 for i in (0, 1))
assert params["GoogLeNet"] < min(
    params[name] for name in ("AlexNet", "VGG-11", "VGG-16")) / 7
assert 4.5 < count["VGG-11"] / count["GoogLeNet"] < 5.5
assert 9 < count["VGG-16"] / count["GoogLeNet"] < 11
assert count["AlexNet"] < count["GoogLeNet"]
assert 3 < params["unreduced"] / params["GoogLeNet"] < 4
assert 2.5 < count["unreduced"] / count["GoogLeNet"] < 3
assert count["unreduced"] < count["VGG-11"]

# %% [markdown]
# Against both VGGs it is cheaper in both currencies; against AlexNet it has far fewer parameters, but needs *more* operations.
# The reductions are a large part of this, and not all of it: without them GoogLeNet has more than three times the parameters and between two and three times the operations, and still needs fewer than VGG-11.
# Other choices save too: the stem brings $224\times224$ pixels down to $28\times28$ positions before the first block, and the head is a single dense layer.
#
# Where do its parameters sit?

# %% tags=["hide-input"]
shares = torch.tensor([[sum(layer.weight.numel() for layer in
                            branch.modules() if isinstance(layer, nn.Conv2d))
                        for branch in block.branches]
                       for block in blocks], dtype=torch.float)  # (9, 4)
shares /= shares.sum(dim=1, keepdim=True)
names = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
fig, ax = plt.subplots(figsize=(6, 2.6))
bottom = torch.zeros(9)
for i, label in enumerate(("1x1", "3x3", "5x5", "pooling")):
    ax.bar(names, shares[:, i], bottom=bottom, label=label, color=f"C{i}",
           hatch=("", "//", "..", "xx")[i], ec="white")
    bottom += shares[:, i]
ax.set(xlabel="block", ylabel="share of weights", ylim=(0, 1))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
assert (shares[:, 1] > 0.45).all() and (shares.argmax(dim=1) == 1).all()
assert (shares[:, 2] < 0.3).all()
d2l.describe(ax, """Stacked bars for nine blocks. The 3 by 3 branch with its
    reduction has about half of the weights or more in every block; the 5 by
    5 branch has less than a third.""")

# %% [markdown]
# **Figure 8.4.3.** Share of each branch, its reduction included, in the weights of the nine blocks: the $3\times3$ branch is the main one everywhere.
#
# Counting also finds what is not as it should be.
# The model `googlenet` of torchvision has a different number of parameters, for three reasons: it has batch normalization, it has no biases, and its "$5\times5$" branch convolves with $3\times3$ kernels.
# It was ported from TensorFlow with these kernels, and they cannot be changed without training its published weights anew ([issue 906](https://github.com/pytorch/vision/issues/906)).
# So a result of that model is not a result of the network in the paper.

# %%
# check 8.4-C6: torchvision's variant, constructed without weights
try:
    from torchvision.models import googlenet
except ImportError:
    print("torchvision is not installed; its variant is not compared")
else:
    with torch.device("meta"):
        variant = googlenet(weights=None, aux_logits=False,
                            init_weights=False)
    kernel = variant.inception3a.branch3[1].conv
    assert count_params(variant) == 6_624_904
    assert kernel.weight.shape == (32, 16, 3, 3) and kernel.bias is None
    with torch.device("meta"):  # the three differences, one by one
        ours = GoogLeNet(num_classes=1000)
        count_macs(ours, image)
    convs = [m for m in ours.modules() if isinstance(m, nn.Conv2d)]
    change = sum(conv.out_channels for conv in convs)  # - bias, + BN
    fewer = sum(16 * branch[1][0].weight[:, :, 0, 0].numel()
                for m in ours.modules() if isinstance(m, Inception)
                for branch in [m.branches[2]])
    assert count_params(ours) + change - fewer == 6_624_904

# %% [markdown]
# All layers with a stride are padded, so the network accepts images of any size.
# It does not follow that any image makes sense: up to $32\times32$ pixels the last maps have a single position, and the last blocks see no arrangement any more.

# %%
# check 8.4-C7: any size is accepted; up to 32 pixels one position is left
def last_side(size, kind=GoogLeNet):
    """Side of the maps before the global average."""
    with torch.device("meta"):
        body = kind(width=0.1).net[:5]
        body[4] = body[4][:-2]  # without average and flatten
        return body.eval()(torch.zeros(2, 1, size, size)).shape[-1]


small = GoogLeNet(width=1 / 16).eval()
with torch.no_grad():
    for size in (1, 2, 28, 33):
        assert small(torch.rand(2, 1, size, size)).shape == (2, 10)
assert [last_side(n) for n in (1, 32, 33, 96, 224)] == [1, 1, 2, 3, 7]

# %% [markdown]
# ## Normalization or optimizer?
#
# We train at a small scale: a network for $28\times28$ images with an eighth of the channels, a stem with a smaller kernel and only one of its two poolings, and two groups of two blocks, 3a, 3b, 4a and 4b.
# It keeps $4\times4$ positions before the average.
# (The profile `gpu` trains the whole network, at $96\times96$ and, under SGD, with the rate 0.01.)

# %%
class SmallGoogLeNet(GoogLeNet):
    """Four of the nine blocks, for images of about 28 x 28."""

    def b1(self):
        return self.conv(64, 3, stride=2, padding=1)  # 14 x 14

    def b4(self):  # b2 and b3 end with 7 x 7 and 4 x 4
        return nn.Sequential(
            self.inception(192, (96, 208), (16, 48), 64),
            self.inception(160, (112, 224), (24, 64), 64))

    def b5(self):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


Net = SmallGoogLeNet if image_size < 65 else GoogLeNet
options = {"resize": (image_size, image_size), "batch_size": batch_size}
data = FashionMNIST(train_size=train_size, val_size=min(val_size, 50),
                    **options)
test = FashionMNIST(train_size=1, val_size=val_size, **options)
real = data.source == "real"
full_run = train_size >= 1200 and grid_size >= 600  # not smoke
laptop = full_run and train_size < 60_000  # the sizes of the profile cpu


def build(kind, seed, **options):
    """A network of class `kind` with He's weights, drawn after `seed`."""
    net = apply_init(kind(width=width, **options), data.X_train[:2])
    torch.manual_seed(seed)
    return net.apply(init_he)


def score(net):
    """Accuracy on the test images."""
    scores, y = predict(net.cpu(), test.val_dataloader())
    return (scores.argmax(dim=1) == y).float().mean().item()

# %% [markdown]
# Whether a plain network starts to learn can depend on its initialization and its optimizer together ([Section 8.2](02-vgg.ipynb)).
# Here the initialization is He's in all arms.
# Batch normalization ([Section 8.5](05-batch-norm.ipynb)) standardizes the output of each convolution over the batch.
# AdamW divides each step by the recent size of its gradient.
# Both set a scale, and we would like to know whether one of the two is enough.
# So we cross them: plain SGD with learning rate 0.1 and AdamW with 0.002, each without and with normalization, from the same weights, with the same images in the same order, for three seeds.

# %%
def sgd(lr):
    return lambda params: torch.optim.SGD(params, lr=lr)


def adamw(lr):
    return lambda params: torch.optim.AdamW(params, lr=lr)


def train_arm(kind, norm, optimizer, data=data, seeds=range(num_seeds)):
    """Test accuracies and last training losses, each a list over seeds."""
    accuracies, losses = [], []
    for seed in seeds:
        net = build(kind, seed, norm=norm)
        history = fit_quietly(net, data, max_epochs, optimizer, seed,
                              num_gpus)
        accuracies.append(score(net))
        losses.append(history["train_loss"][-1])
    return accuracies, losses


results, losses = {}, {}
for name, optimizer in (("SGD", sgd(sgd_rate)), ("AdamW", adamw(2e-3))):
    for norm in (False, True):
        results[name, norm], losses[name, norm] = train_arm(
            Net, norm, optimizer)

# %% tags=["chaotic", "hide-input"]
def dots(ax, rows):
    """Draw rows name -> accuracies as dots, with a bar at each mean."""
    for i, (name, values) in enumerate(rows.items()):
        ax.plot(values, [-i] * len(values), "o", color=f"C{i}", alpha=0.6)
        ax.plot(sum(values) / len(values), -i, "|", ms=16, mew=2,
                color=f"C{i}")
    ax.set_yticks([-i for i in range(len(rows))], labels=list(rows))
    ax.set(xlabel="accuracy on test images",
           ylim=(0.5 - len(rows), 0.5))


_, ax = plt.subplots(figsize=(5.6, 2.2))
dots(ax, {f"{name}, {'with' if norm else 'without'} normalization": values
          for (name, norm), values in results.items()})
ax.axvline(0.1, color="#888888", lw=0.8)
d2l.describe(ax, """Accuracy of four arms, a dot for each of three seeds. SGD
    without normalization lies far to the left; SGD with normalization and
    AdamW without and with it lie together between 0.55 and 0.75.""")

# %% [markdown]
# **Figure 8.4.4.** Dots are seeds, bars means; the line is guessing.
# At these rates either normalization or AdamW is enough to get started in two epochs.

# %%
# check: accuracies as the text says; starts and sizes as said
for values in losses.values():
    assert len(set(values)) == num_seeds  # each dot is a run of its own
kernels = [[m.weight for m in build(Net, 0, norm=norm).modules()
            if isinstance(m, (nn.Conv2d, nn.Linear))]
           for norm in (False, True)]
for a, b in zip(*kernels, strict=True):  # the same weights at the start
    assert torch.equal(a, b)
assert not torch.equal(a, build(Net, 1).net[-1].weight)
assert (len(data.y_train), len(data.y_val)) == (train_size, min(val_size, 50))
assert len(test.y_val) == val_size
assert real or data.source == "standin"
assert full_run or train_size < 1200 or grid_size < 600
assert laptop or not full_run or train_size >= 60_000
if laptop and real:
    assert max(results["SGD", False]) < 0.45
    rest = [v for key, values in results.items() if key != ("SGD", False)
            for v in values]
    assert min(rest) > 0.5
    assert min(results["SGD", True]) > max(results["SGD", False]) + 0.15
    gain = {name: sum(results[name, True]) - sum(results[name, False])
            for name in ("SGD", "AdamW")}
    assert abs(gain["AdamW"]) < gain["SGD"] / 3

# %% [markdown]
# Under plain SGD at this rate normalization decides: without it each run is worse than each run with it, by a wide margin.
# That is a matter of time: after six epochs instead of two, runs that we do not store here, the plain arm had got going too.
# Under AdamW the difference of the means is less than a third of that under SGD, but normalization is ahead on average here too.
# "Nothing is learned without batch normalization" and "batch normalization is only a help" can each be read off one half of the figure.
# Both halves compare at one rate for each optimizer; Exercise 1 gives each arm its own, and the picture changes.

# %% [markdown]
# ## What the branches buy
#
# Is it good for accuracy to look with several kernels at once?
# The control keeps everything, the stem, the number of blocks and the channels between them, and gives the *whole* computation of each block to the $3\times3$ branch: a reduction to $r$ channels and a $3\times3$ convolution to all $c'$ output channels.
# By (8.4.1) its operations are those of the Inception block if $r$ is its number of weights over $c+9c'$.

# %%
class OneBranchNet(Net):
    """Each Inception block replaced by its 3x3 branch, at equal MACs."""

    def inception(self, *channels):
        c = getattr(self, "c_in", scaled(192, self.width))
        with torch.device("meta"):  # what the block would cost and give
            block = super().inception(*channels)
            weights = sum(count_macs(block, (1, c, 1, 1)).values())
            self.c_in = block(torch.zeros(2, c, 1, 1)).shape[1]
        r = round(weights / (c + 9 * self.c_in))
        return nn.Sequential(
            conv_relu(r, 1, self.norm),
            conv_relu(self.c_in, 3, self.norm, padding=1))


kinds = {"four branches": Net, "3x3 branch alone": OneBranchNet}
shape = (1, 1, image_size, image_size)
prices = {name: on_meta(lambda kind=kind: kind(width=width, norm=True), shape)
          for name, kind in kinds.items()}
for name, (params, count) in prices.items():
    print(f"{name:17s} {params:,d} parameters, {count:,d} MACs")

# %%
# check: equal operations, and equal channels between the blocks
(_, four), (_, one) = prices.values()
assert abs(one / four - 1) < 0.02
outputs = [[out for _, out in layer_summary(
    build(kind, 0, norm=True).net, shape)] for kind in kinds.values()]
assert outputs[0] == outputs[1]
assert not any(isinstance(m, Inception)
               for m in build(OneBranchNet, 0).modules())

# %% [markdown]
# Both networks have normalization and are trained by AdamW, at the rate 0.002 of the last comparison and at 0.005, so that the answer does not hang on a single rate.
# The first of the four arms has been trained already.

# %%
contest, contest_loss = {}, {}
for lr in (2e-3, 5e-3):
    for name, kind in kinds.items():
        key = f"{name}, {lr}"
        if (lr, kind) == (2e-3, Net):
            contest[key], contest_loss[key] = (results["AdamW", True],
                                               losses["AdamW", True])
        else:
            contest[key], contest_loss[key] = train_arm(kind, True, adamw(lr))

# %% tags=["rtol=0.2", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.2), sharey=True)
dots(axes[0], contest)
dots(axes[1], contest_loss)
axes[1].set(xlabel="training loss, last epoch")
d2l.describe(axes, """Four rows of three dots each: four branches and one
    branch, at two rates. Left, accuracy: four branches have the higher
    mean at the smaller rate, at the other they are level. Right, training
    loss: four branches have the lower mean.""")

# %% [markdown]
# **Figure 8.4.5.** Four branches and one at two rates of AdamW, with equal operations, images and steps; dots are seeds, bars means.

# %% tags=["rtol=0.2"]
for name, values in contest.items():
    print(f"{name:23s} accuracy", [round(v, 3) for v in values], "loss",
          [round(v, 2) for v in contest_loss[name]])
if laptop and real:
    assert min(min(values) for values in contest.values()) > 0.5
    lower = 0  # pairs in which four branches have the lower loss
    for lr in (2e-3, 5e-3):
        keys = [f"{name}, {lr}" for name in kinds]
        four, one = (contest_loss[key] for key in keys)
        assert (sum(one) - sum(four)) / num_seeds > 0.05
        lower += sum(a < b for a, b in zip(four, one, strict=True))
        four, one = (contest[key] for key in keys)
        assert lr > 2e-3 or (sum(four) - sum(one)) / num_seeds > 0.02
    assert lower >= 5  # of six

# %% [markdown]
# At this scale, 1200 images and two epochs, four branches have the lower mean training loss at both rates, and a lower one than the single branch with the same seed in each pair.
# At the rate 0.002 their accuracy is higher too; at 0.005 rounding decides: here two of three pairs turn round, and when the kernels were stored with their channels first, the same values in another order, none did.
# The ranges of the accuracies overlap, so the pairs say more than the ranges: the images and their order are the same within a pair.
# Is it an advantage or a head start?
# In six further seeds, again at both rates, all twelve pairs had the lower loss and eleven the higher accuracy; in longer runs at the rate 0.002, six epochs, the accuracy turned round in one of three pairs, while the training loss of four branches was still lower.
# (These runs are not stored here; change `max_epochs` to repeat the last.)
# So four branches fit these images in fewer steps, and whether they end more accurate is open.
# This control does not tell why: the branches differ from the single one in more than the sizes of their kernels, for example in the number of nonlinear layers on the way.
# Nor does it tell anything about the authors' setting: ImageNet, large images and long training.
# And the branches are not the whole of GoogLeNet's success; the reductions and the small head save parameters and operations whatever the branches do.
#
# The field went both ways.
# Later Inception networks replaced the $5\times5$ kernels by pairs of $3\times3$ ones (Exercise 4), and Xception (Chollet, 2017) read the block as a step towards one branch for each channel, the depthwise convolution that mobile networks and ConvNeXt use.
# The residual blocks of [Section 8.6](06-resnet.ipynb) need one number of channels for each stage instead of six for each block.
# Parallel branches are in use today: InceptionNeXt (Yu and others, 2024) divides the channels of a large depthwise convolution among a small square kernel, two bands and the identity, and RepVGG merges branches into one kernel after training ([Section 8.2](02-vgg.ipynb)).

# %% [markdown]
# ## Summary
#
# - An Inception block concatenates a $1\times1$, a $3\times3$, a $5\times5$ and a pooling branch; all keep height and width.
# - A reduction to $r$ channels brings the weights of a $k\times k$ branch from $k^2cc'$ to $r(c+k^2c')$; in block 3a the two large branches need 2.59 times fewer.
# - Stem, body and head are the plan of most networks since. GoogLeNet has 5 977 530 parameters here; it has fewer parameters and operations than VGG-11, but needs more operations than AlexNet.
# - Counting parameters tells implementations apart: a widely used one has $3\times3$ kernels where the paper has $5\times5$.
# - On a small Inception network, plain SGD at a fixed rate needs normalization to get started within two epochs; AdamW starts without it, and at the best of three rates, in one seed, it gains from it too.
# - At equal operations and few steps, four branches fit the images better than the $3\times3$ branch alone, at two rates; that they end more accurate is not shown.

# %% [markdown]
# ## Exercises
#
# ### Exercise 8.4-1
#
# The comparison with SGD fixed the learning rate at 0.1.
# Give each arm, without and with normalization, the best of 0.01, 0.1 and 0.3, and the arms of AdamW the best of 0.001, 0.008 and 0.064.
# How do the gain of normalization and its best rate depend on the optimizer?

# %% [markdown]
# #### Solution 8.4-1

# %% [markdown]
# One seed and half of the images are enough for a first look.
# Under SGD the arm with normalization is ahead by a wide margin at its best rate; without normalization none of the three rates gets far in these few steps.
# With normalization the two larger rates are far better than 0.01, where it is not ahead at all; the best rate may lie beyond the grid.
# Under AdamW with normalization the middle one of three rates that are eight times apart is best, so its best rate is inside the grid; without normalization the two smaller rates are close together.
# Normalization gains a lot here too.
# So the smaller gain in Figure 8.4.4 is not a property of AdamW alone: it depends on the rate and on the number of steps too, and here there are only half as many.
# The rates of the two optimizers are not in the same units: AdamW divides the step by the size of the gradient.
# The rate is chosen on the test images, which flatters every arm a little.

# %% tags=["chaotic"]
few = FashionMNIST(train_size=grid_size, val_size=50, **options)
grid = {}
rates = {"SGD": (0.01, 0.1, 0.3), "AdamW": (1e-3, 8e-3, 6.4e-2)}
for norm in (False, True):
    for name, optimizer in (("SGD", sgd), ("AdamW", adamw)):
        for lr in rates[name]:
            (grid[name, norm, lr],), _ = train_arm(
                Net, norm, optimizer(lr), few, seeds=[0])

# %% tags=["chaotic", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.6), sharey=True)
for ax, name in zip(axes, rates, strict=True):
    for norm, style in ((False, "-o"), (True, "--s")):
        ax.plot(rates[name], [grid[name, norm, lr] for lr in rates[name]],
                style, label=f"{'with' if norm else 'without'} normalization")
    ax.set(xscale="log", xlabel=f"rate of {name}", ylim=(0, 0.7))
axes[0].set(ylabel="accuracy on test images")
axes[1].legend(fontsize=8, loc="lower right")
d2l.describe(axes, """Accuracy against the learning rate, two lines each. SGD:
    with normalization it rises with the rate, to about 0.5; without, it
    stays below 0.35 at all three rates. AdamW, three rates: with
    normalization the line is highest at the middle one, where it leads by
    far; without, the two smaller rates are about equal.""")
if laptop and real:
    best = {(name, norm): max(grid[name, norm, lr] for lr in rates[name])
            for name in rates for norm in (False, True)}
    gain = {name: best[name, True] - best[name, False] for name in rates}
    assert min(gain.values()) > 0.1
    assert grid["SGD", True, 0.01] < min(
        grid["SGD", False, 0.01] + 0.05, grid["SGD", True, 0.1] - 0.1)
    assert min(grid["SGD", True, lr] for lr in (0.1, 0.3)) > (
        grid["SGD", True, 0.01] + 0.1)
    assert max(grid["SGD", False, lr] for lr in rates["SGD"]) < 0.35
    assert best["AdamW", True] == grid["AdamW", True, 8e-3]
    one, two, three = (grid["AdamW", False, lr] for lr in rates["AdamW"])
    assert abs(one - two) < 0.1 < 0.2 < min(one, two) - three

# %% [markdown]
# **Figure 8.4.6.** SGD and AdamW at three rates each, without and with normalization, one seed.

# %% [markdown]
# ### Exercise 8.4-2
#
# From which size of the image on do the last maps have at least $3\times3$ positions?
# Change the stem, and nothing else, so that all nine blocks have at least as many for $28\times28$ images.

# %% [markdown]
# #### Solution 8.4-2

# %% [markdown]
# Each of the five steps of stride 2 rounds up, so the side is $\lceil n/32\rceil$: at least 65 pixels are needed for 3.
# With 28 pixels three steps leave $\lceil28/8\rceil=4$, four leave 2.
# Two steps are in the body, so the stem may keep one of its three; which one, we can choose.
# We remove both from `b1`, or the two poolings: the second variant has the smaller maps in `b2` and needs fewer operations.

# %%
class FineGoogLeNet(GoogLeNet):
    """GoogLeNet with a stem for 28 x 28 images: no stride in b1."""

    def b1(self):
        return self.conv(64, 3, padding=1)


class EarlyGoogLeNet(GoogLeNet):
    """The other way: the first stride stays, both poolings go."""

    def b1(self):
        return self.conv(64, 7, stride=2, padding=3)

    def b2(self):
        return nn.Sequential(self.conv(64, 1), self.conv(192, 3, padding=1))


assert all(last_side(n) == -(-n // 32) for n in (1, 28, 64, 65, 96, 100))
assert last_side(64) == 2 and last_side(65) == 3
print("side of the last maps for 28 pixels:", last_side(28, FineGoogLeNet))
assert last_side(28, FineGoogLeNet) == last_side(28, EarlyGoogLeNet) == 4
assert last_side(28, SmallGoogLeNet) == 4  # has only one step in its body
assert on_meta(EarlyGoogLeNet, (1, 1, 28, 28))[0] == 5_977_530
assert (on_meta(EarlyGoogLeNet, (1, 1, 28, 28))[1]
        < on_meta(FineGoogLeNet, (1, 1, 28, 28))[1])
assert on_meta(FineGoogLeNet, (1, 1, 28, 28))[0] == 5_977_530 - 64 * (49 - 9)

# %% [markdown]
# ### Exercise 8.4-3
#
# Compare the parameters of AlexNet, VGG-11, NiN and GoogLeNet for grey images and ten classes.

# %% [markdown]
# #### Solution 8.4-3

# %% [markdown]
# In the first two more than nine tenths of the parameters are in the dense layers; NiN has no dense layer, and GoogLeNet has one of $1024\times10$.

# %%
family = {"AlexNet": AlexNet, "VGG-11": lambda: VGG(VGG11), "NiN": NiN,
          "GoogLeNet": GoogLeNet}
sizes, dense = {}, {}
for name, make in family.items():
    with torch.device("meta"):
        net = make()
        count_macs(net, (1, 1, 224, 224))
    sizes[name] = count_params(net)
    dense[name] = sum(count_params(m) for m in net.modules()
                      if isinstance(m, nn.Linear))
for name, params in sizes.items():
    print(f"{name:10s} {params:12,d}  {params / sizes['GoogLeNet']:5.1f}")
assert list(sizes.values()) == [46_764_746, 128_806_154, 1_992_166,
                                5_977_530]
assert all(dense[name] > 0.9 * sizes[name] for name in ("AlexNet", "VGG-11"))
assert dense["NiN"] == 0 and dense["GoogLeNet"] == 1024 * 10 + 10

# %% [markdown]
# ### Exercise 8.4-4
#
# Inception v2 replaces the $5\times5$ convolution by two $3\times3$ ones.
# Compare the window and the weights, first for equal channels, then in block 3a, where 16 channels become 32.

# %% [markdown]
# #### Solution 8.4-4

# %% [markdown]
# The window is the same, and for equal channels there are $\frac{18}{25}$ of the weights.
# In block 3a, where the number of channels doubles, it depends on where it does so: with 32 channels between the two the pair has *more* weights than the $5\times5$ kernel, with 16 fewer.

# %%
pair, single = [(3, 1, 1), (3, 1, 1)], [(5, 1, 2)]
assert receptive_field(pair) == receptive_field(single) == (5, 1, -2)


def weights(*channels, k):
    """Weights of k x k convolutions through these numbers of channels."""
    net = nn.Sequential(*(
        nn.Conv2d(c, out, k, padding=k // 2, bias=False)
        for c, out in zip(channels, channels[1:])))
    assert net(torch.zeros(1, channels[0], 7, 7)).shape == (
        1, channels[-1], 7, 7)
    return count_params(net)


assert weights(48, 48, 48, k=3) / weights(48, 48, k=5) == 18 / 25
pairs = {middle: weights(16, middle, 32, k=3) for middle in (16, 32)}
print("3x3 pair:", pairs, "5x5:", weights(16, 32, k=5))
assert pairs[16] < weights(16, 32, k=5) < pairs[32]

# %% [markdown]
# ### Exercise 8.4-5
#
# The paper on Inception v3 also proposed *label smoothing*: the target gives the right class $1-\epsilon$ and shares $\epsilon$ equally among all $q$ classes, the right one included.
# How low can the cross-entropy become?

# %% [markdown]
# #### Solution 8.4-5

# %% [markdown]
# The cross-entropy of any prediction is at least the entropy of the target ([Section 4.1](../04-linear-classification/01-softmax-regression.ipynb)), and equal to it where the prediction *is* the target.
# The right class has $p=1-\epsilon+\epsilon/q$ and each other class $\epsilon/q$, so the floor is $-p\log p-(q-1)\frac\epsilon q\log\frac\epsilon q$.
# For $\epsilon=0.1$ and $q=10$ the target is 0.91 once and 0.01 nine times, and the floor $-0.91\log0.91-0.09\log0.01\approx0.500$: a loss of 0.5 can thus be a perfect fit.

# %%
def smoothed(label, q, eps):
    """Target (1, q) of label smoothing."""
    target = torch.full((1, q), eps / q, dtype=torch.float64)
    target[0, label] += 1 - eps
    return target


for eps, q in ((0.1, 10), (0.3, 10), (0.1, 1000)):
    target = smoothed(3, q, eps)
    floor = torch.special.entr(target).sum()
    logits = target.log().requires_grad_()
    loss = F.cross_entropy(logits, torch.tensor([3]), label_smoothing=eps)
    loss.backward()
    torch.testing.assert_close(loss.detach(), floor)
    assert logits.grad.abs().max() < 1e-12
    near = logits.detach() + 0.1 * torch.randn(1000, q, dtype=torch.float64)
    worse = F.cross_entropy(near, torch.full((1000,), 3),
                            label_smoothing=eps, reduction="none")
    assert worse.min() > floor
    assert (eps, q) != (0.1, 10) or abs(floor - 0.500) < 0.001
    print(f"eps {eps}, {q:4d} classes: floor {floor:.4f}")

# %% tags=["hide-input"]
# check: a loss for each of the thousand vectors, of which none is equal
assert worse.shape == (1000,) and worse.unique().numel() > 900

# %% [markdown]
# ### Exercise 8.4-6
#
# Add a shortcut: let a block compute $\mathbf{X}+g(\mathbf{X})$, where $g$ is an Inception block.
# What has to be true of the channels, and what does the block compute if the last convolutions of its branches are 0?
# Can training leave that state?

# %% [markdown]
# #### Solution 8.4-6

# %% [markdown]
# The branches together must give as many channels as they get; otherwise the shortcut needs a $1\times1$ convolution.
# With zeros in the weights and biases of the last convolutions $g$ is 0, and a block with the plain shortcut is the identity, for every input.
# It is a start without a way out: each branch ends with a ReLU, its input is 0, and PyTorch takes the derivative there as 0, so no parameter of $g$ gets a gradient.
# Without the last ReLUs the last convolutions do get one.
# In [Section 8.6](06-resnet.ipynb) the branch ends without a ReLU, and the ReLU follows the sum.

# %%
class ResidualInception(nn.Module):
    """X plus an Inception block of X; a 1x1 layer fits the channels."""

    def __init__(self, c_in, c1, c2, c3, c4):
        super().__init__()
        self.block = Inception(c1, c2, c3, c4)
        out = c1 + c2[1] + c3[1] + c4
        self.shortcut = (nn.Identity() if out == c_in
                         else nn.Conv2d(c_in, out, kernel_size=1))

    def forward(self, X):
        return self.shortcut(X) + self.block(X)


X = torch.randn(2, 24, 7, 7)
same = ResidualInception(24, 8, (6, 8), (2, 4), 4)
wider = ResidualInception(24, 8, (6, 8), (2, 4), 8)
assert same(X).shape == X.shape and wider(X).shape == (2, 28, 7, 7)
assert not torch.equal(same(X), X)
tails = [branch if i == 0 else branch[-1]  # convolution and ReLU
         for i, branch in enumerate(same.block.branches)]
for conv, _ in tails:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
assert torch.equal(same(X), X)
same(X).sum().backward()
assert not any(p.grad.any() for p in same.block.parameters())
same.zero_grad()
for tail in tails:
    tail[-1] = nn.Identity()
assert torch.equal(same(X), X)  # the same start, without the ReLUs
same(X).square().sum().backward()
assert all(conv.weight.grad.any() for conv, _ in tails)

# %% [markdown]
# ## Sources
#
# - C. Szegedy et al., Going deeper with convolutions, 2015, [arXiv:1409.4842](https://arxiv.org/abs/1409.4842): GoogLeNet, the table of its channels, the auxiliary heads.
# - C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, Rethinking the Inception architecture for computer vision, 2016, [arXiv:1512.00567](https://arxiv.org/abs/1512.00567): pairs of $3\times3$ kernels, label smoothing, and what the auxiliary heads do.
# - M. Lin, Q. Chen and S. Yan, Network in network, 2013, [arXiv:1312.4400](https://arxiv.org/abs/1312.4400).
# - S. Ioffe and C. Szegedy, Batch normalization, 2015, [arXiv:1502.03167](https://arxiv.org/abs/1502.03167).
# - F. Chollet, Xception: deep learning with depthwise separable convolutions, 2017, [arXiv:1610.02357](https://arxiv.org/abs/1610.02357).
# - W. Yu, P. Zhou, S. Yan and X. Wang, InceptionNeXt: when Inception meets ConvNeXt, 2024, [arXiv:2303.16900](https://arxiv.org/abs/2303.16900).
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
