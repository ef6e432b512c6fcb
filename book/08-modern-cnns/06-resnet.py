# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#         image_size: 96
#         width: 1.0
#         batch_size: 128
#         lr: 0.01
#         max_epochs: 10
#         depth_size: 60000
#         depth_epochs: 10
#         depth_pixels: 28
#         max_depth: 56
#         num_seeds: 3
#         num_gpus: 1
#       smoke:
#         train_size: 300
#         val_size: 200
#         image_size: 32
#         max_epochs: 1
#         depth_size: 200
#         depth_epochs: 1
#         num_seeds: 2
#     rehearsal:
#       train_size: 0.05
#       val_size: 0.1
#       image_size: 0.5
#       width: 0.25
#       batch_size: 0.5
#       max_epochs: 0.3
#       depth_size: 0.01
#       depth_epochs: 0.3
#       num_seeds: 0.34
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
# # 8.6 ResNet and ResNeXt
#
# A network of 20 layers contains the network of 8 layers: let the additional layers pass on what they receive.
# Plain networks that were trained around 2015 did not behave that way: beyond some depth even their error on the *training* images grew.
# This section adds the input of a block to its output, builds the networks that made this idea the standard, and measures what it buys.
#
# **You will**
#
# - say which promise nested function classes make, and which they do not;
# - build ResNet-18, 34, 50 and ResNeXt-50, compare their sizes with published ones, and test three of them against a reference implementation, output by output;
# - follow a gradient through 50 layers with and without shortcuts, with the controls that tell the shortcut from the scale of the weights;
# - compare plain and residual networks at two depths over several seeds, and find out how much of the gain is the start alone.
#
# **Cost**: about a minute on a CPU; the profile `gpu` trains on all images; a download of 31 MB, once.

# %%
import functools

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, init_cnn, init_he)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, predict)
from d2l_helpers.chapters.modern_cnns import (
    Inception, cost_table, fit_quietly, scaled)

try:
    import torchvision
except ImportError:  # torchvision is optional
    torchvision = None

d2l.use_style()

# %% tags=["parameters"]
train_size = 2560  # images for ResNet-18 and ResNeXt
val_size = 1000
image_size = 40  # side of the images for ResNet-18
width = 0.25  # of ResNet-18, as a multiple of the published channels
batch_size = 64
lr = 0.05
max_epochs = 3
depth_size = 1500  # images of the comparison of depths
depth_epochs = 3
depth_pixels = 20  # side of these images
max_depth = 20  # layers of the deepest network
num_seeds = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## When is larger surely not worse?
#
# Let $\mathcal F$ be the set of functions that an architecture can compute with any values of its parameters.
# The best of them for the data is
#
# $$f^*_{\mathcal F} = \operatorname*{argmin}_{f\in\mathcal F} L(\mathbf X,\mathbf y,f), \tag{8.6.1}$$
#
# where $L$ is the training loss, $\mathbf X$ holds the images of the training set and $\mathbf y$ their labels.
# If a richer architecture contains the old one, $\mathcal F\subseteq\mathcal F'$, its best loss is at most as high.
# If it does not, nothing follows: its best function may be farther from what we want.
#
# ![Left three overlapping sets F1, F2, F3 of growing size, of which none contains another; the nearest point to the best function lies in the smallest set. Right three sets, each inside the next; the nearest point comes closer with each.](img/resnet-nested.svg)
#
# **Figure 8.6.1.** Only nested classes guarantee that the best function does not get worse.
#
# So a new layer should be able to compute the identity: then the deeper network can compute whatever the shallower one could.
# That is how residual networks are usually motivated, and it needs a caution.
# A plain $3\times3$ convolution can be the identity, too: give it a kernel with a single 1 in the middle (a *Dirac kernel*).
# Behind a ReLU all values are nonnegative, and on those another ReLU changes nothing.
# Plain deep classes are nested as well, which we check below.
# Nesting bounds the best *attainable* training loss; it does not say what SGD finds from a random start in finite time.
# So nesting is not what sets residual networks apart.
# A shortcut changes where training starts and which way it goes from there; the last experiment of this section changes the start alone.

# %% [markdown]
# ## The residual block
#
# Let $f(\mathbf x)$ be what a block should compute.
# A *residual block* has layers that compute $g(\mathbf x)=f(\mathbf x)-\mathbf x$, and adds its input:
#
# $$f(\mathbf x) = g(\mathbf x) + \mathbf x. \tag{8.6.2}$$
#
# All three have the shape (channels, height, width) of $\mathbf x$.
# The path around the layers is the *shortcut* or *skip connection*, the path through them the *branch*.
# Where the branch gives 0, a plain block forgets its input, whereas the residual block passes it on: a small branch means "change little".
#
# ![Three blocks from bottom to top. Plain: 3 by 3 convolution, batch norm, ReLU, 3 by 3 convolution, batch norm, ReLU. Residual: the same, and the input is added before the last ReLU. The third has stride 2 in the first convolution and a 1 by 1 convolution on the shortcut.](img/resnet-blocks.svg)
#
# **Figure 8.6.2.** A plain block, a residual block, and one that changes channels and resolution.
#
# The branch is two $3\times3$ convolutions with batch normalization ([Section 8.5](05-batch-norm.ipynb)); the last ReLU comes after the addition.
# Small kernels do not make a branch small, because batch normalization undoes their scale; its own factor $\gamma$ does.
# Where the block changes the number of channels or halves the resolution, the shortcut cannot be the identity; a $1\times1$ convolution with the same stride brings the input into shape.
# K. He and his colleagues won the ImageNet challenge of 2015 with such networks; *highway networks* had shortcuts with trained gates half a year earlier.
#
# We write the sum once, for all blocks of this section.
# It compares shapes, because the `+` of PyTorch would silently repeat a map with one channel.

# %% tags=["export"]
class ShortcutBlock(nn.Module):
    """relu(branch(X) + shortcut(X)) for X of shape (n, c, h, w).

    Without a `shortcut` X itself is added. A ValueError names the shapes
    where the two terms differ.
    """

    def __init__(self, branch, shortcut=None):
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, X):
        Y, S = self.branch(X), self.shortcut(X)
        if Y.shape != S.shape:
            raise ValueError(
                f"the branch gives {tuple(Y.shape)}, the shortcut "
                f"{tuple(S.shape)}; a block that changes the shape needs "
                "use_1x1conv=True.")
        return nn.functional.relu(Y + S)

# %% tags=["export"]
def conv_norm(num_channels, kernel_size, strides=1, bias=True, groups=1):
    """A convolution that keeps h and w / strides, and its batch norm."""
    return [nn.LazyConv2d(num_channels, kernel_size, stride=strides,
                          padding=kernel_size // 2, groups=groups,
                          bias=bias), nn.LazyBatchNorm2d()]


def projection(num_channels, strides, bias, norm):
    """A 1x1 convolution, with `norm` followed by batch normalization."""
    layers = conv_norm(num_channels, 1, strides, bias)
    return nn.Sequential(*layers[:2 if norm else 1])


class Residual(ShortcutBlock):
    """A residual block with two 3x3 convolutions in its branch.

    The shortcut is the identity, or with `use_1x1conv` a convolution that
    adapts channels and, by `strides`, resolution. `bias` gives the
    convolutions biases, `norm_shortcut` normalizes the 1x1 convolution.
    (n, c, h, w) -> (n, num_channels, h / strides, w / strides), rounded up.
    """

    def __init__(self, num_channels, use_1x1conv=False, strides=1,
                 bias=True, norm_shortcut=False):
        super().__init__(
            nn.Sequential(
                *conv_norm(num_channels, 3, strides, bias), nn.ReLU(),
                *conv_norm(num_channels, 3, 1, bias)),
            projection(num_channels, strides, bias, norm_shortcut)
            if use_1x1conv else None)

# %%
# check 8.6-C1: shapes of both kinds of block
torch.manual_seed(0)
X = torch.randn(4, 3, 6, 6)
assert Residual(3)(X).shape == X.shape
assert Residual(6, use_1x1conv=True, strides=2)(X).shape == (4, 6, 3, 3)
for wrong in (Residual(6), Residual(1), Residual(3, strides=6)):
    try:
        wrong(X)
        raise AssertionError("a block without 1x1 changed the shape")
    except ValueError as error:
        assert "(4, 3, 6, 6)" in str(error)

# %% tags=["hide-input"]
# check: which convolutions have biases, where batch norm stands, odd sizes
def kinds(module):
    """Class names of the layers that have parameters, in order."""
    return [type(m).__name__.removeprefix("Lazy") for m in module.modules()
            if not list(m.children()) and list(m.parameters())]


for bias in (True, False):
    for norm in (True, False):
        block = Residual(5, True, 2, bias=bias, norm_shortcut=norm)
        assert block(torch.randn(2, 3, 7, 5)).shape == (2, 5, 4, 3)
        convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
        assert [m.bias is not None for m in convs] == [bias] * 3
        assert [m.kernel_size[0] for m in convs] == [3, 3, 1]
        assert kinds(block) == (["Conv2d", "BatchNorm2d"] * 2 + ["Conv2d"]
                                + ["BatchNorm2d"] * norm)
block, Z = Residual(3), X.clone()
Y = block(Z)  # in training mode, by hand; and the input stays as it is
conv1, bn1, _, conv2, bn2 = block.branch
torch.testing.assert_close(
    Y, F.relu(Z + bn2(conv2(F.relu(bn1(conv1(Z)))))))
assert torch.equal(X, Z)
torch.testing.assert_close(  # a 1x1 shortcut is what is added
    (block := Residual(4, True))(X),
    F.relu(block.branch(X) + block.shortcut(X)))
block(X).sum().backward()
assert block.shortcut[0].weight.grad.any()  # and it learns

# %% [markdown]
# Is a block with a silent branch the identity?
# With $\gamma=\beta=0$ in its last batch normalization it computes $\mathrm{relu}(\mathbf x)$, which is $\mathbf x$ on the nonnegative outputs of the block before, and only there.
# The plain block that we check beside it has the same branch and no shortcut; it will be the control at the end of the section.

# %%
class Plain(Residual):
    """Residual without its shortcut: relu(branch(X))."""

    def __init__(self, num_channels, use_1x1conv=False, strides=1,
                 bias=True):
        super().__init__(num_channels, False, strides, bias)

    def forward(self, X):
        return F.relu(self.branch(X))

# %%
# check 8.6-C2: silent residual and plain Dirac blocks are the identity
silent, plain = Residual(3), Plain(3).eval()
silent(X), plain(X)  # gives the lazy layers their shapes
nn.init.zeros_(silent.branch[-1].weight)  # beta is 0 already
assert torch.equal(silent(X.abs()), X.abs())
assert torch.equal(silent(X), F.relu(X)) and not torch.equal(silent(X), X)
quiet = Residual(3)
Y = quiet(X).detach()
with torch.no_grad():  # kernels a tenth as large change next to nothing,
    for layer in quiet.branch:
        if isinstance(layer, nn.Conv2d):
            layer.weight *= 0.1
    assert (quiet(X) - Y).norm() < 0.01 * (Y - F.relu(X)).norm()
    quiet.branch[-1].weight *= 0.1  # a tenth of gamma makes it quiet
    assert (quiet(X) - F.relu(X)).norm() < 0.15 * (Y - F.relu(X)).norm()
for layer in plain.branch:
    if isinstance(layer, nn.Conv2d):
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)
torch.testing.assert_close(plain(X.abs()), X.abs(), rtol=2e-5, atol=0)
assert not torch.equal(plain(X.abs()), X.abs())  # epsilon of batch norm
assert torch.equal(plain(X), F.relu(plain.branch(X))) and not plain(-X).all()

# %% [markdown]
# ## ResNet-18
#
# The network begins with a *stem*, a $7\times7$ convolution and a maximum pooling, both with stride 2.
# Four *stages* follow, of 64, 128, 256 and 512 channels.
# Within a stage all blocks have the same shape; the first block of stages two to four halves the resolution.
# Global average pooling ([Section 8.3](03-nin.ipynb)) and one dense layer are the head.
#
# ![From left to right: a 7 by 7 convolution with stride 2, maximum pooling with stride 2, eight blocks of two 3 by 3 convolutions, each with an arc above it, in four stages of 64, 128, 256 and 512 channels, average pooling and a dense layer. The arcs of the first blocks of stages two to four hold a 1 by 1 convolution. For an image of 96 by 96 the maps have side 48, 24, 24, 12, 6, 3.](img/resnet-18.svg)
#
# **Figure 8.6.3.** ResNet-18: $1+4\cdot4+1=18$ layers with weights, not counting the $1\times1$ shortcuts.

# %% tags=["export"]
class ResNet(Classifier):
    """A residual network; returns scores (n, num_classes).

    `arch` lists (number of blocks, channels) for each stage; `width`
    multiplies the channels; `block` is called as
    block(channels, use_1x1conv, strides, bias, norm_shortcut).
    `reference=True` builds it as current libraries do: convolutions
    without biases, shortcuts with batch normalization.
    """

    def __init__(self, arch, lr=0.01, num_classes=10, width=1.0,
                 reference=False, block=Residual):
        super().__init__()
        self.save_hyperparameters()
        stem = scaled(64, width)
        layers, channels = [self.b1(stem)], stem
        for i, (depth, c) in enumerate(arch):
            c = scaled(c, width)
            layers.append(self.stage(depth, channels, c, 1 + (i > 0)))
            channels = c
        self.net = nn.Sequential(*layers, nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.LazyLinear(num_classes)))

    def b1(self, channels):
        """The stem: a quarter of the height and width."""
        return nn.Sequential(
            *conv_norm(channels, 7, 2, bias=not self.reference), nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1))

    def stage(self, depth, c_in, c_out, strides):
        """Blocks of equal width; the first one may change the shape."""
        return nn.Sequential(*(
            self.block(c_out, i == 0 and (strides > 1 or c_in != c_out),
                       strides if i == 0 else 1, not self.reference,
                       self.reference) for i in range(depth)))

# %% tags=["export"]
class ResNet18(ResNet):
    """ResNet-18: two residual blocks in each of four stages."""

    def __init__(self, lr=0.01, num_classes=10, width=1.0,
                 reference=False):
        super().__init__(((2, 64), (2, 128), (2, 256), (2, 512)), lr,
                         num_classes, width, reference)

# %%
with torch.device("meta"):  # shapes and counts without any computing
    table = cost_table(ResNet18().net, (1, 1, 96, 96))
for name, (_, shape, params, macs) in zip(
        ("stem", "stage 1", "stage 2", "stage 3", "stage 4", "head"), table):
    print(f"{name:7s} {str(shape):18s} {params:9,d} parameters, "
          f"{macs / 1e6:5.1f} million multiply-accumulates")

# %%
# check 8.6-C3: shapes for an image of 96 x 96
assert [shape[1:] for _, shape, *_ in table] == [
    (64, 24, 24), (64, 24, 24), (128, 12, 12), (256, 6, 6), (512, 3, 3),
    (10,)]
# check 8.6-C4: parameters and multiply-accumulates of this version
assert sum(params for *_, params, _ in table) == 11_178_378
assert round(sum(macs for *_, macs in table) / 1e5) == 3187
assert 0.74 < table[4][2] / 11_178_378 < 0.76  # stage 4: three quarters
assert max(row[3] for row in table[1:5]) < 1.15 * table[4][3]

# %% tags=["hide-input"]
# check: width, classes and rate, and what the blocks are called with
def spy(*arguments):
    calls.append(arguments)
    return Residual(*arguments)


calls = []
with torch.device("meta"):
    narrow = ResNet18(lr=0.3, num_classes=7, width=0.25)
    assert narrow(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    assert not narrow.reference and ResNet18(reference=True).reference
    assert narrow.lr == 0.3 and count_params(narrow) == 702_570 - 3 * 129
    ResNet(((2, 64), (1, 128)), block=spy)
    ResNet(((1, 64), (1, 64)), block=spy, reference=True, width=2)
assert calls == [(64, False, 1, True, False)] * 2 + [
    (128, True, 2, True, False), (128, False, 1, False, True),
    (128, True, 2, False, True)]

# %% [markdown]
# Halving the side quarters the positions, doubling the channels quadruples the weights of a layer: the four stages cost about the same, and three quarters of the parameters sit in the last one.
#
# Does it learn?
# We take a quarter of the width, $40\times40$ pixels and 2560 images; the initializer comes after the dry run, which gives the lazy layers their shapes ([Section 6.4](../06-builders-guide/04-lazy-initialization.ipynb)).

# %%
full_run = (train_size >= 2560 and depth_size >= 1500
            and num_seeds >= 3)  # not smoke or rehearsal
data = FashionMNIST(batch_size, resize=(image_size, image_size),
                    train_size=train_size, val_size=val_size)
real = data.source == "real"
torch.manual_seed(0)
model = apply_init(ResNet18(lr, width=width), data.X_train[:2], init_cnn)
history = fit_quietly(model, data, max_epochs, num_gpus=num_gpus)


def loss_and_accuracy(model, batches):
    """Mean loss and accuracy in evaluation mode."""
    scores, labels = predict(model, batches)
    hits = (scores.argmax(dim=1) == labels).double()
    return F.cross_entropy(scores, labels).item(), hits.mean().item()


train_loss, train_accuracy = loss_and_accuracy(model,
                                               data.get_dataloader(True))
val_loss, val_accuracy = loss_and_accuracy(model, data.get_dataloader(False))

# %% tags=["rtol=0.3"]
print("validation accuracy after each epoch:",
      " ".join(f"{a:.2f}" for a in history["val_acc"]))
print(f"training images {train_loss:.2f} loss, {train_accuracy:.2f} accuracy;"
      f" validation {val_loss:.2f}, {val_accuracy:.2f}")
if full_run and real:
    assert val_accuracy >= 0.70 and train_loss < val_loss - 0.05

# %% [markdown]
# After three epochs of 40 steps the accuracy is above 70 % (one seed).
# The network, in evaluation mode, does better on the images that it was trained on than on others.

# %% [markdown]
# ## Deeper: the bottleneck
#
# The 34-layer network has more of the same blocks, 3, 4, 6 and 3 in its stages.
# From 50 layers on, the stages have four times as many channels, 256 to 2048, and the $3\times3$ convolution works on a quarter of them: one $1\times1$ convolution goes down, another one back up.
# This *bottleneck block* has far fewer weights than two $3\times3$ convolutions on the full number of channels.

# %% tags=["export"]
class Bottleneck(ShortcutBlock):
    """A residual block of 1x1, 3x3 and 1x1 convolutions.

    `num_channels` enter the next block; the 3x3 convolution, which has the
    stride, works on `inner` times as many in `groups` groups. The other
    arguments are those of `Residual`.
    """

    def __init__(self, num_channels, use_1x1conv=False, strides=1,
                 bias=False, norm_shortcut=True, inner=0.25, groups=1):
        c = scaled(num_channels, inner)
        super().__init__(
            nn.Sequential(
                *conv_norm(c, 1, 1, bias), nn.ReLU(),
                *conv_norm(c, 3, strides, bias, groups), nn.ReLU(),
                *conv_norm(num_channels, 1, 1, bias)),
            projection(num_channels, strides, bias, norm_shortcut)
            if use_1x1conv else None)

# %%
def conv_weights(block, channels):
    """Weights in the convolutions of a block for `channels` inputs."""
    with torch.device("meta"):
        block = block()
        block(torch.zeros(2, channels, 8, 8))
    return sum(m.weight.numel() for m in block.modules()
               if isinstance(m, nn.Conv2d))


ResNeXtUnit = functools.partial(Bottleneck, inner=0.5, groups=32)
weights = {"two 3x3": conv_weights(lambda: Residual(256), 256),
           "bottleneck": conv_weights(lambda: Bottleneck(256), 256),
           "32 groups of 4": conv_weights(lambda: ResNeXtUnit(256), 256)}
print(weights)
# check 8.6-C8: weights of blocks with 256 channels
assert list(weights.values()) == [1_179_648, 69_632, 70_144]

# %% tags=["hide-input"]
# check: where the stride, the groups, biases and batch norms are
block = Bottleneck(8, True, 2, bias=True, norm_shortcut=False, inner=0.5,
                   groups=2)
assert block(torch.randn(2, 6, 8, 8)).shape == (2, 8, 4, 4)
convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
assert [m.kernel_size[0] for m in convs] == [1, 3, 1, 1]
assert [m.stride[0] for m in convs] == [1, 2, 1, 2]
assert [m.groups for m in convs] == [1, 2, 1, 1]
assert [m.out_channels for m in convs] == [4, 4, 8, 8]
assert all(m.bias is not None for m in convs)
assert kinds(block) == ["Conv2d", "BatchNorm2d"] * 3 + ["Conv2d"]
assert kinds(block := Bottleneck(8, True)) == ["Conv2d", "BatchNorm2d"] * 4
block(torch.randn(2, 6, 8, 8))
assert all(m.bias is None for m in block.modules()
           if isinstance(m, nn.Conv2d))
assert isinstance(Bottleneck(8).shortcut, nn.Identity)

# %% [markdown]
# The paper of 2015 put the stride on the first $1\times1$ convolution, which then skips three quarters of its inputs; torchvision and we put it on the $3\times3$ convolution, a version known as "v1.5".
# The third entry belongs to ResNeXt, to which we come below: the same number of weights within one per cent, twice the inner channels.

# %% [markdown]
# ## Equal to a reference
#
# Is our network *the* ResNet?
# A count of parameters is some evidence; equal outputs on the same weights are proof for this input.
# The libraries' version leaves out the biases of convolutions that a batch normalization follows, which removes them anyhow ([Section 8.5](05-batch-norm.ipynb)), and normalizes the $1\times1$ shortcuts: our `reference=True`.
# The names of the tensors differ, their order does not.

# %% tags=["export"]
def port_state(src, dst):
    """Copy all parameters and buffers of `src` to `dst`, in order.

    The two modules may name their tensors differently, but must have
    equally many, of the same shapes; a ValueError names the first pair
    that does not fit, and `dst` is then left as it was. That tensors of
    one shape have the same meaning is not checked. Returns `dst`.
    """
    source, target = src.state_dict(), dst.state_dict()
    if len(source) != len(target):
        raise ValueError(f"{len(source)} tensors cannot be copied to "
                         f"{len(target)}.")
    for (a, A), (b, B) in zip(source.items(), target.items()):
        if A.shape != B.shape:
            raise ValueError(f"{a} has shape {tuple(A.shape)}, but {b} has "
                             f"{tuple(B.shape)}.")
    with torch.no_grad():
        for A, B in zip(source.values(), target.values()):
            B.copy_(A)
    return dst

# %% tags=["hide-input"]
# check: all or nothing, buffers too, no shared memory, gradients untouched
a, b = (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)) for _ in "ab")
a(torch.randn(8, 2))  # other statistics than those of b
assert port_state(a, b) is b and b[1].num_batches_tracked == 1
assert all(torch.equal(s, t) for s, t in zip(a.state_dict().values(),
                                             b.state_dict().values()))
nn.init.zeros_(a[0].weight)
assert b[0].weight.any() and b[0].weight.requires_grad
before = {name: t.clone() for name, t in b.state_dict().items()}
for other, word in ((nn.Linear(2, 3), "2 tensors"), (nn.Sequential(
        nn.Linear(2, 3), nn.BatchNorm1d(4)), "1.weight has shape (4,)"), (
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(3)), "0.weight has")):
    try:
        port_state(other, b)
        raise AssertionError("modules that do not fit were accepted")
    except ValueError as error:
        assert word in str(error)
assert all(torch.equal(before[name], t)
           for name, t in b.state_dict().items())

# %%
deep = (256, 512, 1024, 2048)  # channels of the networks with bottlenecks
resnets = {  # blocks per stage, channels per stage, block, name elsewhere
    "ResNet-18": ((2, 2, 2, 2), (64, 128, 256, 512), Residual, "resnet18"),
    "ResNet-34": ((3, 4, 6, 3), (64, 128, 256, 512), Residual, "resnet34"),
    "ResNet-50": ((3, 4, 6, 3), deep, Bottleneck, "resnet50"),
    "ResNet-101": ((3, 4, 23, 3), deep, Bottleneck, "resnet101"),
    "ResNet-152": ((3, 8, 36, 3), deep, Bottleneck, "resnet152"),
    "ResNeXt-50": ((3, 4, 6, 3), deep, ResNeXtUnit, "resnext50_32x4d")}


def build(name):
    """The reference version of a network, for 1000 classes."""
    depths, channels, block, _ = resnets[name]
    return ResNet(tuple(zip(depths, channels)), num_classes=1000,
                  reference=True, block=block)


sizes, billions = {}, {}
for name in resnets:
    with torch.device("meta"):
        net = build(name)
        macs = sum(count_macs(net, (1, 3, 224, 224)).values())
    sizes[name], billions[name] = count_params(net), macs / 1e9
    print(f"{name:10s} {sizes[name]:10,d} parameters, {billions[name]:6.3f} "
          "billion multiply-accumulates at 224 x 224")

# %%
# check 8.6-C5: published sizes, and equal outputs with equal weights
assert list(sizes.values()) == [11_689_512, 21_797_672, 25_557_032,
                                44_549_160, 60_192_808, 25_028_904]
if torchvision is None:
    print("torchvision is not installed: comparison left out.")
else:
    for name, (*_, theirs) in resnets.items():
        with torch.device("meta"):  # only to count
            twin = getattr(torchvision.models, theirs)(weights=None)
        assert count_params(twin) == sizes[name]
    for name in ("ResNet-18", "ResNet-50", "ResNeXt-50"):
        torch.manual_seed(0)
        X = torch.randn(2, 3, 64, 64)
        twin = getattr(torchvision.models, resnets[name][-1])(weights=None)
        for layer in twin.modules():  # no tensor at its default value
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.weight, layer.bias, layer.running_mean,
                               layer.running_var):
                    nn.init.uniform_(tensor, 0.5, 1)
        ours = port_state(twin, apply_init(build(name), X)).eval()
        with torch.no_grad():
            torch.testing.assert_close(ours(X), twin.eval()(X))
    print("the outputs of three networks are equal")
# check 8.6-C6: multiply-accumulates at 224 x 224
assert [round(b, 2) for b in billions.values()] == [
    1.81, 3.66, 4.09, 7.80, 11.51, 4.23]

# %% [markdown]
# ## What a shortcut does to a gradient
#
# Leave out the ReLU after the addition for a moment.
# Then blocks $l$ to $m-1$ with branches $g_i$ make $\mathbf x_m=\mathbf x_l+\sum_{i=l}^{m-1}g_i(\mathbf x_i)$, and for a loss $L$ that depends on $\mathbf x_l$ only through $\mathbf x_m$
#
# $$\frac{\partial L}{\partial\mathbf x_l} = \frac{\partial L}{\partial\mathbf x_m}\Big(\mathbf I+\frac{\partial}{\partial\mathbf x_l}\sum_{i=l}^{m-1}g_i(\mathbf x_i)\Big). \tag{8.6.3}$$
#
# Here $\mathbf x_l\in\mathbb{R}^d$ is the input of block $l$, gradients are rows of length $d$, and $\mathbf I$ is the $d\times d$ identity.
# In a plain chain the bracket is a *product* of matrices; here it is the identity plus something.
# The gradient of the output reaches every block as it is, plus a term that may strengthen it or cancel it.
#
# We follow it through 50 layers of width 64: plain $\tanh(\mathbf W\mathbf x)$, and $\mathbf x+a\tanh(\mathbf W\mathbf x)$ with $a=0.1$ and $a=1$.
# The weights are normal with variance $s/64$; at $s=1$ a plain chain roughly keeps its scale ([Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb)), at $s=\frac14$ each layer halves it.

# %%
def gradient_norms(s, skip, a, seed, depth=50, d=64):
    """Norms of the gradient at x_0, ..., x_depth; the loss is the sum."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, d, generator=generator, requires_grad=True)
    states = [x]
    for _ in range(depth):
        W = torch.randn(d, d, generator=generator) * (s / d)**0.5
        x = skip * x + a * torch.tanh(x @ W.mT)  # (16, d)
        states.append(x)
    return [torch.linalg.vector_norm(g).item()
            for g in torch.autograd.grad(x.sum(), states)]


chains = {"plain": (0, 1), "shortcut, a = 0.1": (1, 0.1),
          "shortcut, a = 1": (1, 1)}
norms = {(name, s): [gradient_norms(s, *chains[name], seed)
                     for seed in range(3)]
         for s in (0.25, 1, 16) for name in chains}
for (name, s), runs in norms.items():
    print(f"s = {s:<4}  {name:18s} at the input:",
          ", ".join(f"{run[0]:.2g}" for run in runs))

# %%
# check 8.6-C9: the gradient at the input, three seeds
first = {key: [run[0] for run in runs] for key, runs in norms.items()}
assert max(first["plain", 0.25]) < 32e-14
assert 0.1 < min(first["plain", 1]) and max(first["plain", 1]) < 32
assert all(0.9 < g / 32 < 1.15 for g in first["shortcut, a = 0.1", 0.25])
small = [g for s in (0.25, 1, 16) for g in first["shortcut, a = 0.1", s]]
assert max(small) < 2 * min(small)
assert min(first["plain", 16]) > 1e20 * max(first["plain", 0.25])
for s in (0.25, 1):
    assert min(first["shortcut, a = 1", s]) > 100
assert all(5 < g / 32 < 13 for g in first["shortcut, a = 1", 0.25])
assert all(run[-1] == 32 for runs in norms.values() for run in runs)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.8), sharey=True)
for ax, s in zip(axes, (0.25, 1)):
    for name, style in zip(chains, ("-", "--", ":")):
        ax.plot(range(51), norms[name, s][0], style, label=name)
    ax.set(yscale="log", xlabel="layer", title=f"variance {s:g} / 64")
axes[0].set_ylabel("norm of the gradient")
axes[0].legend(fontsize=8)
d2l.describe(fig, """Norm of the gradient at each of 50 layers on a
    logarithmic axis, two panels. Left, small weights: the plain chain falls
    towards the input by more than fourteen orders of magnitude, the chain
    with a = 0.1 stays level, the one with a = 1 grows towards the input.
    Right, larger weights: the plain chain loses about one order of magnitude,
    the chain with a = 0.1 is level again, a = 1 grows more.""")

# %% [markdown]
# **Figure 8.6.4.** The gradient's way back from layer 50, at two scales of the weights (one seed).
#
# At the small scale the plain chain loses more than fourteen orders of magnitude of the gradient, and the chain with $a=0.1$ hardly anything.
# The right panel is the control: at the larger scale the plain chain is alive without any shortcut.
# And with $a=1$ the gradient grows on its way, at both scales.
# Both can be estimated: while $\tanh$ is nearly linear, a layer multiplies the mean square of the gradient by about $1+a^2s$.
# Fifty layers with $a=0.1$ and $s=\frac14$ make $1.0025^{50}\approx1.13$, a factor of 1.06 in the norm; with $a=1$ it would be about 265, of which the flat parts of $\tanh$ leave less than ten.
# From $s=\frac14$ to $s=16$ the gradient at the input of the plain chain ranges over more than twenty orders of magnitude, that of the chain with $a=0.1$ over less than a factor of two.
# So over these scales a shortcut with a small branch makes the gradient far less sensitive to the scale of the weights.
# It is not the only way to get a gradient through 50 layers, and a shortcut alone does not fix its size.

# %% [markdown]
# ## ResNeXt: many narrow branches
#
# A convolution from $c_\mathrm i$ to $c_\mathrm o$ channels has $c_\mathrm i c_\mathrm o$ kernels, and at each position it works in proportion.
# Divide the channels into $g$ groups that do not see each other, and $g$ convolutions with $c_\mathrm i/g$ inputs and $c_\mathrm o/g$ outputs remain:
#
# $$g\cdot\frac{c_\mathrm i}{g}\cdot\frac{c_\mathrm o}{g} = \frac{c_\mathrm i c_\mathrm o}{g} \tag{8.6.4}$$
#
# kernels, one $g$-th of the weights and of the work.
# With $c_\mathrm i=c_\mathrm o=128$ and $g=32$ these are 512 kernels instead of 16 384.
# A *grouped convolution* is a dense one whose matrix of kernels is block-diagonal.
# AlexNet ([Section 8.1](01-alexnet.ipynb)) had two groups, one for each of its two GPUs.
#
# Groups do not exchange anything, so a network of grouped convolutions alone would be $g$ networks side by side.
# *ResNeXt* (Xie et al., 2017) puts the grouped convolution between the $1\times1$ convolutions of a bottleneck, which mix all channels.
# With $c$ outer and $b$ inner channels a block has $\mathcal O(cb)$ weights in the $1\times1$ layers and $\mathcal O(b^2/g)$ in the grouped one, so $b$ can grow for the same price.
# Read as branches, it is an Inception block ([Section 8.4](04-googlenet.ipynb)) in which all branches do the same kind of thing and are added instead of concatenated.
#
# ![Left: 32 branches, each of 1 by 1 convolution from 256 to 4 channels, 3 by 3 from 4 to 4, 1 by 1 from 4 to 256; their sum is added to the input. Right: 1 by 1 from 256 to 128, 3 by 3 from 128 to 128 in 32 groups, 1 by 1 from 128 to 256, added to the input.](img/resnet-next.svg)
#
# **Figure 8.6.5.** One block in two drawings, batch norm and ReLU left out.
# The right one is what libraries compute.
#
# We describe a block by its *group width*, the channels in one group, because later we want to widen a network and keep it: the number of groups follows as $g=b/\text{width}$.
# (Some code calls the group width `groups`; the two are different numbers.)
# All else is `Bottleneck`.

# %% tags=["export"]
class ResNeXtBlock(Bottleneck):
    """A residual block whose 3x3 convolution works in groups.

    `bot_mul` times `num_channels` channels inside, in groups of
    `group_width` channels each. Convolutions have biases, the 1x1
    convolution on the shortcut is normalized.
    """

    def __init__(self, num_channels, group_width, bot_mul,
                 use_1x1conv=False, strides=1):
        c = scaled(num_channels, bot_mul)
        if c % group_width:
            raise ValueError(f"{c} inner channels cannot be divided into "
                             f"groups of {group_width}.")
        super().__init__(num_channels, use_1x1conv, strides, bias=True,
                         inner=bot_mul, groups=c // group_width)

# %%
# check 8.6-C7: shape, groups, parameters; groups are blocks of a matrix
block = ResNeXtBlock(32, group_width=16, bot_mul=1)
X = torch.randn(4, 32, 96, 96)
assert block(X).shape == X.shape and count_params(block) == 6944
grouped = block.branch[3]
assert isinstance(grouped, nn.Conv2d) and grouped.groups == 2
kernel = torch.zeros(32, 32, 3, 3)
for i in range(2):  # a group's outputs see the inputs of the same group
    part = slice(16 * i, 16 * (i + 1))
    kernel[part, part] = grouped.weight.detach()[part]
with torch.no_grad():
    dense = F.conv2d(X, kernel, grouped.bias, padding=1)
    torch.testing.assert_close(grouped(X), dense, rtol=1e-4, atol=1e-5)

# %% tags=["hide-input"]
# check: Figure 8.6.5, group width, ratio, stride, and what does not divide
with torch.no_grad():
    block.eval()
    H = block.branch[:6](X[:1, :, :8, :8])  # (1, 32, 8, 8), before the last
    last = block.branch[6]
    branches = [F.conv2d(H[:, 16 * i:16 * (i + 1)],
                         last.weight[:, 16 * i:16 * (i + 1)])
                for i in range(2)]  # each has its own two groups of weights
    torch.testing.assert_close(sum(branches) + last.bias[:, None, None],
                               last(H), rtol=1e-4, atol=1e-5)
small = ResNeXtBlock(12, group_width=3, bot_mul=0.5, use_1x1conv=True,
                     strides=2)
assert small(torch.randn(2, 8, 6, 6)).shape == (2, 12, 3, 3)
convs = [m for m in small.modules() if isinstance(m, nn.Conv2d)]
assert [m.groups for m in convs] == [1, 2, 1, 1]
assert convs[1].out_channels == 6 and convs[1].stride == (2, 2)
assert all(m.bias is not None for m in convs)
assert kinds(small) == ["Conv2d", "BatchNorm2d"] * 4
for c, group_width, bot_mul in ((32, 5, 1), (12, 4, 0.5)):
    try:
        ResNeXtBlock(c, group_width, bot_mul)
        raise AssertionError("groups that do not divide were accepted")
    except ValueError as error:
        assert (f"{c * bot_mul:.0f} inner" in str(error)
                and f"groups of {group_width}." in str(error))

# %% [markdown]
# A small network of four such blocks, at $28\times28$ pixels:

# %% tags=["rtol=0.3"]
class Scores(Classifier):
    """A classifier whose scores are the outputs of `net`."""

    def __init__(self, net, lr=0.1):
        super().__init__()
        self.net, self.lr = net, lr


def stem(channels):
    return conv_norm(channels, 3, 2) + [nn.ReLU()]  # half the side


def head():
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10)]


small_data = FashionMNIST(64, train_size=train_size, val_size=val_size)
torch.manual_seed(0)
resnext = apply_init(Scores(nn.Sequential(
    *stem(16), ResNeXtBlock(32, 8, 1, True, 2), ResNeXtBlock(32, 8, 1),
    ResNeXtBlock(64, 8, 1, True, 2), ResNeXtBlock(64, 8, 1), *head())),
    small_data.X_train[:2], init_cnn)
resnext_history = fit_quietly(resnext, small_data, max_epochs,
                              num_gpus=num_gpus)
print(f"{count_params(resnext)} parameters, validation accuracy "
      f"{resnext_history['val_acc'][-1]:.2f}")
assert count_params(resnext) == 37_162
if full_run and real:
    assert resnext_history["val_acc"][-1] >= 0.65

# %% [markdown]
# ## What did the shortcut buy?
#
# The question of the beginning, as an experiment.
# A network has a stem of 12 channels and three stages of 12, 24 and 48 channels with $n$ blocks each, which makes $6n+2$ layers.
# The blocks are either `Residual` or `Plain`, the same layers without the shortcut.
# A third arm asks how much of the difference is the start: it is the plain network, but the kernels of its blocks begin as Dirac kernels plus a tenth of their random values; where a block widens, the additional channels begin with the tenth alone.
# (Batch normalization follows, so for the outputs at the start only this ratio counts; but most of these kernels are shorter by a factor of about $\sqrt2$, which doubles their effective learning rate, see [Section 8.5](05-batch-norm.ipynb).)
# It computes what the plain network can compute, at the same cost; for the deeper networks we train it, too.
# Where a block keeps the shape, each channel at first passes nearly by itself, but standardized and cut off at its mean by the ReLU: closer to the identity than behind random kernels, yet not the identity of the check above, in which batch normalization had the statistics 0 and 1.
# All arms get the same images, the same number of steps, He's initialization, SGD with momentum 0.9, and a choice between two learning rates by the loss of the first seed.
# The $1\times1$ shortcuts of two blocks make the residual arm slightly more expensive.
# We compare *training* losses, because the degradation that started all this is one of training.

# %%
depths = [depth for depth in (8, 20, 56) if depth <= max_depth]
rates = (0.025, 0.05)
arms = {"plain": (Plain, False), "residual": (Residual, False),
        "plain, Dirac start": (Plain, True)}  # block, near the identity
depth_data = FashionMNIST(64, resize=(depth_pixels, depth_pixels),
                          train_size=depth_size, val_size=10)


def deep_net(depth, block):
    """A network of 6n + 2 layers, `depth` in all."""
    layers = stem(12)
    for c in (12, 24, 48):
        for i in range((depth - 2) // 6):
            halve = i == 0 and c > 12
            layers.append(block(c, halve, 1 + halve, bias=False))
    return nn.Sequential(*layers, *head())


macs = {}
for depth in depths:
    for block in (Plain, Residual):
        with torch.device("meta"):
            net = deep_net(depth, block)
            counts = count_macs(net, (1, 1, depth_pixels, depth_pixels))
        macs[depth, block] = sum(counts.values())
        weighted = len(counts) - 2 * (block is Residual)  # less 1x1
        print(f"{block.__name__:8s} {weighted} layers, {count_params(net)} "
              f"parameters, {macs[depth, block] / 1e6:.2f} million "
              "multiply-accumulates")
        assert weighted == depth
for depth in depths:  # equal cost, within three per cent
    assert 1 < macs[depth, Residual] / macs[depth, Plain] < 1.03

# %%
def start_near_identity(model, noise=0.1):
    """Kernels of all branches become Dirac kernels + noise * kernels."""
    with torch.no_grad():  # in place
        for block in model.modules():
            if isinstance(block, Residual):
                for conv in block.branch:
                    if isinstance(conv, nn.Conv2d):
                        dirac = nn.init.dirac_(torch.empty_like(conv.weight))
                        conv.weight.mul_(noise).add_(dirac)


def started(depth, arm, seed):
    """The untrained network of an arm."""
    block, dirac_start = arms[arm]
    torch.manual_seed(seed)
    model = apply_init(Scores(deep_net(depth, block)),
                       depth_data.X_train[:2], init_he)
    if dirac_start:
        start_near_identity(model)
    return model


def final_loss(depth, arm, rate, seed):
    """Mean training loss over the last epoch."""
    history = fit_quietly(
        started(depth, arm, seed), depth_data, depth_epochs, seed=seed,
        num_gpus=num_gpus,
        optimizer=lambda p: torch.optim.SGD(p, lr=rate, momentum=0.9))
    return history["train_loss"][-1]


# %% tags=["hide-input"]
# check: each seed starts anew, and always in the same way
one, same, other = (next(started(8, next(iter(arms)), seed).parameters())
                    for seed in (0, 0, 1))
assert torch.equal(one, same) and not torch.equal(one, other)

# check: as many images as the text says; what is left out in a short run
for images in (data, small_data):
    assert (len(images.y_train), len(images.y_val)) == (train_size, val_size)
assert depth_data.X_train.shape == (depth_size, 1, *(2 * [depth_pixels]))
assert data.X_train.shape[-1] == image_size
assert real or data.source == "standin"
assert full_run or train_size < 2560 or depth_size < 1500 or num_seeds < 3

# check: the start changes the kernels of the branches, and nothing else
pair = []
for _ in range(2):
    torch.manual_seed(0)
    pair.append(apply_init(deep_net(8, Plain), depth_data.X_train[:2],
                           init_he))
start_near_identity(pair[1])
for (name, A), B in zip(pair[0].named_parameters(), pair[1].parameters()):
    if "branch" in name and A.ndim == 4:
        A = 0.1 * A + nn.init.dirac_(torch.empty_like(A))
    torch.testing.assert_close(A, B)

# %% tags=["rtol=0.3"]
losses, best, not_chosen = {}, {}, {}
for key in [(depth, arm) for depth in depths for arm in arms
            if depth > 8 or not arms[arm][1]]:
    trial = {rate: final_loss(*key, rate, 0) for rate in rates}
    best[key] = rate = min(trial, key=trial.get)
    losses[key] = [trial.pop(rate)] + [
        final_loss(*key, rate, seed) for seed in range(1, num_seeds)]
    (not_chosen[key],) = trial.values()
    print(f"{key[0]:2d} layers, {key[1]:18s}: rate {rate}, loss",
          " ".join(f"{x:.2f}" for x in losses[key]))
means = {key: sum(runs) / num_seeds for key, runs in losses.items()}
assert all(len(set(runs)) == num_seeds for runs in losses.values())

# %% tags=["rtol=0.3", "hide-input"]
_, ax = plt.subplots(figsize=(5.6, 3.2))
for i, (arm, marker) in enumerate(zip(arms, "so^")):
    for j, depth in enumerate(depths):
        x = j + 0.25 * i - 0.25
        if (depth, arm) in losses:
            runs = losses[depth, arm]
            ax.plot([x + 0.02 * k for k in range(len(runs))], runs, marker,
                    color=f"C{i}",
                    label=arm if depth == depths[-1] else None)
            ax.plot(x + 0.1, not_chosen[depth, arm], marker, color=f"C{i}",
                    markerfacecolor="none")
ax.set_xticks(range(len(depths)), labels=[str(depth) for depth in depths])
ax.set(xlabel="layers", ylabel="training loss of the last epoch",
       xlim=(-0.5, len(depths) - 0.5))
ax.legend(loc="upper left")
d2l.describe(ax, """Training loss of the last epoch against the number of
    layers, one filled mark for each seed, and a hollow mark for the rate that
    was not chosen. With 8 layers the residual marks lie a little below the
    plain ones. With 20 layers the plain marks lie much higher than with 8; the
    residual marks have risen by less, and the marks of the plain network that
    starts at Dirac kernels lie beside them.""")
if full_run and real and depth_epochs < 10:
    plain, residual, start = (means[20, arm] for arm in arms)
    gap = means[8, "plain"] - means[8, "residual"]
    rise = plain - means[8, "plain"], residual - means[8, "residual"]
    assert 0 < gap < (plain - residual) / 2 and plain - residual > 0.15
    assert rise[0] > 0.15 and 0 < rise[1] < 0.5 * rise[0]
    assert min(losses[20, "plain"]) > max(losses[20, "plain, Dirac start"])
    assert plain - start > 0.15 and abs(start - residual) < 0.08
    assert start - means[8, "plain"] < 0.5 * rise[0]
    assert (macs[20, Residual] > 3 * macs[8, Residual])
    assert min(not_chosen[20, "plain"], *losses[20, "plain"]) > max(
        not_chosen[20, arm] for arm in arms if arm != "plain")

# %% [markdown]
# **Figure 8.6.6.** Filled marks: three seeds at the chosen rate; hollow marks: the other rate, one seed.
#
# Within these 72 steps the plain network trains clearly worse with 20 layers than with 8, although its class of functions is larger.
# With shortcuts the loss at 20 layers is much lower than without; at 8 layers the difference is less than half as large.
# The residual network of 20 layers does not get below that of 8 layers, and costs more than three times as much.
# So here the shortcut did not make depth pay; it removed more than half of the penalty for it.
# (The rate of the plain network with 20 layers was chosen on the seed that did best by far; the other two were not tried at the other rate.)
#
# The third arm did about as well, without any shortcut: in this setting its start is enough.
# The doubled effective rate alone does not explain that: at half the rate (hollow triangle, one seed) its loss is still well below that of the plain network at either rate.
# This is no general equivalence; the tenth was the best of three factors that we tried on one seed, a choice that the other arms did not have, and 1 did not help.
# Zagoruyko and Komodakis (2017) keep a Dirac kernel in the *parametrization* of plain networks, and trained them to nearly the accuracy of residual ones.
#
# What this does *not* show: which network would be ahead after a longer training, or on new images, or at another width or initialization.
# Nor why the start matters.
# He et al. had batch normalization in their plain networks, and report that the gradients in them did not vanish; so the chain of Figure 8.6.4, which has no normalization, does not settle it.
# Other accounts are open.
# Gradients of deep plain networks come to resemble white noise, those with shortcuts much later (*shattered gradients*, Balduzzi et al., 2017; here, too, another initialization replaced the shortcuts in first experiments).
# Pictures of the loss surface look smoother with shortcuts (Li et al., 2018).
# A residual network can be read as a collection of paths of many lengths, of which mostly the short ones carry gradient (Veit et al., 2016).

# %% [markdown]
# ## What became of it
#
# Three months later the same authors moved batch normalization and ReLU *before* each convolution.
# In this *pre-activation* order (Exercise 4) nothing stands on the shortcut, (8.6.3) holds literally, and they trained a network of 1001 layers on CIFAR-10.
# A common start sets $\gamma$ of the last batch normalization in each branch to 0 (`zero_init_residual` in torchvision): at the first step every block with an identity shortcut passes on its input.
# In the same way blocks can be added to a trained network without changing its outputs.
# *Stochastic depth* drops branches at random during training; the shortcut still carries the signal past them (Huang et al., 2016).
#
# The block is not all that counts.
# The same ResNet-50 that had an accuracy of 75 to 76 % on ImageNet with the early recipes reached 80.4 % with a longer and more demanding one (Wightman et al., 2021).
# ResNets remain a usual baseline, and a shortcut around every block has become standard far beyond images, in Transformers too (Section 11.7).

# %% [markdown]
# ## Summary
#
# - Nested function classes bound the best attainable training loss. Plain networks are nested as well, but do not usually start near the identity.
# - A residual block computes $\mathrm{relu}(g(\mathbf x)+\mathbf x)$; with $g=0$ it is the identity on nonnegative inputs only.
# - ResNet-18, ResNet-50 and ResNeXt-50 of this section agree with torchvision's in parameters, operations and, with ported weights, in outputs.
# - With a small branch a shortcut makes the gradient far less sensitive to the scale of the weights; plain chains at the right scale live, too, and a large branch lets gradients grow.
# - Grouped convolutions cost one $g$-th; ResNeXt spends the savings on more inner channels between $1\times1$ convolutions.
# - On 1500 images and in 72 steps, 20 plain layers trained worse than 8; shortcuts removed more than half of this penalty, and so did a start at Dirac kernels.

# %% [markdown]
# ## Exercises
#
# ### Exercise 8.6-1
#
# Compare an Inception block and a residual block, both from 192 to 256 channels: their parameters, and what they compute when all weights and biases of the convolutions in their branches are 0.
# What changes when the shortcut has a convolution, and this is 0, too?

# %% [markdown]
# #### Solution 8.6-1

# %% [markdown]
# The first Inception block of GoogLeNet has $64+128+32+32=256$ output channels.
# Its expensive kernels work on few channels; the residual block has two full $3\times3$ convolutions, $9\cdot192\cdot256$ and $9\cdot256^2$ weights, and the shortcut.
# It has more than six times as many parameters.
# With zeros in its branches the Inception block forgets its input.
# The residual block becomes the ReLU of its shortcut: here of a $1\times1$ convolution; from 256 to 256 channels it would be the identity on inputs that are not negative.
# With zeros in the $1\times1$ convolution, too, this block forgets its input as well: only an identity on the shortcut cannot be unlearned.

# %%
inception = Inception(64, (96, 128), (16, 32), 32)
residual = Residual(256, use_1x1conv=True)
X = torch.rand(2, 192, 6, 6)
assert inception(X).shape == residual(X).shape == (2, 256, 6, 6)
sizes_1 = count_params(inception), count_params(residual)
print("parameters:", sizes_1)
by_hand = 192 * 64 + 64  # the four branches, weights and biases
by_hand += 192 * 96 + 96 + 9 * 96 * 128 + 128
by_hand += 192 * 16 + 16 + 25 * 16 * 32 + 32 + 192 * 32 + 32
assert sizes_1[0] == by_hand
assert sizes_1[1] == (9 * 192 + 9 * 256 + 192) * 256 + 3 * 256 + 4 * 256
assert sizes_1[1] > 6 * sizes_1[0]
same, Z = Residual(256), torch.rand(2, 256, 6, 6)
same(Z)  # gives the lazy layers their shapes


def silence(net):
    """Set weights and biases of all convolutions to 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


for net in (inception, residual.branch, same.branch):
    silence(net)
assert not inception(X).any() and torch.equal(same(Z), Z)
assert torch.equal(residual(X), F.relu(residual.shortcut(X)))
assert residual(X).any()
silence(residual)
assert not residual(X).any()

# %% tags=["hide-input"]
# check: the inputs of these blocks are not 0
assert X.any() and Z.any() and (Z >= 0).all()

# %% [markdown]
# ### Exercise 8.6-2
#
# Where do the numbers in the names ResNet-18, ResNet-34 and ResNet-50 come from?
# Count the layers, and check the shapes for an image of $96\times96$.

# %% [markdown]
# #### Solution 8.6-2

# %% [markdown]
# Stem and dense layer count two, each block as many as it has convolutions in its branch; $1\times1$ shortcuts do not count.

# %%
for name in list(resnets)[:3]:
    with torch.device("meta"):
        net = build(name)
        rows = cost_table(net.net, (1, 3, 96, 96))
    layers = sum(isinstance(m, (nn.Conv2d, nn.Linear)) and
                 "shortcut" not in path for path, m in net.named_modules())
    assert layers == int(name.split("-")[1])
    last = 512 if layers < 50 else 2048
    assert [row[1][1:] for row in rows] == [
        (64, 24, 24), (last // 8, 24, 24), (last // 4, 12, 12),
        (last // 2, 6, 6), (last, 3, 3), (1000,)]
    assert sum(row[2] for row in rows) == sizes[name]
    print(name, "has", layers, "layers with weights")

# %% [markdown]
# ### Exercise 8.6-3
#
# By which factor is a bottleneck block with $c$ outer channels cheaper than two $3\times3$ convolutions?
# At which inner share $k$ of the channels would both have the same number of weights?

# %% [markdown]
# #### Solution 8.6-3

# %% [markdown]
# Two $3\times3$ convolutions have $18c^2$ weights, the bottleneck $2kc^2+9k^2c^2$.
# For $k=\frac14$ that is $\frac{17}{16}c^2$, about 17 times fewer.
# From $9k^2+2k=18$ follows $k=(\sqrt{163}-1)/9\approx1.31$: equally many weights would pay for inner channels *wider* than the outer ones.

# %%
k = (163**0.5 - 1) / 9
for c in (64, 256):
    two = conv_weights(lambda: Residual(c), c)
    assert two == 18 * c * c
    assert conv_weights(lambda: Bottleneck(c), c) == 17 * c * c / 16
    even = conv_weights(lambda: Bottleneck(c, inner=k), c)
    assert abs(even / two - 1) < 0.02  # rounded to whole channels
print(f"a factor of {18 * 16 / 17:.1f}; equal at k = {k:.2f}")

# %% [markdown]
# ### Exercise 8.6-4
#
# Write a block in pre-activation order: batch norm, ReLU, convolution, twice, and nothing after the addition.
# Show that with a zero last convolution it is the identity for *all* inputs, and that (8.6.3) needs this.

# %% [markdown]
# #### Solution 8.6-4

# %% [markdown]
# The ReLU has moved into the branch, so negative values pass.
# With silent branches the gradient at the input of ten such blocks equals that at the output exactly, whereas behind the ReLU of `Residual` it is lost wherever the input was negative.

# %%
class PreActivation(nn.Module):
    """X + g(X); g: (batch norm, ReLU, 3x3 convolution) twice."""

    def __init__(self, channels):
        super().__init__()
        self.branch = nn.Sequential(*(
            layer for _ in range(2) for layer in (
                nn.BatchNorm2d(channels), nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False))))

    def forward(self, X):
        return X + self.branch(X)


X = torch.randn(4, 3, 6, 6, requires_grad=True)
ten = nn.Sequential(*(PreActivation(3) for _ in range(10)))
assert not torch.allclose(ten(X), X)
norm, _, conv, *_ = ten[0].branch  # the order of the question
torch.testing.assert_close(ten[0].branch[:3](X), conv(F.relu(norm(X))))
for block in ten:
    nn.init.zeros_(block.branch[-1].weight)
assert torch.equal(ten(X), X) and (X < 0).any()
assert torch.equal(ten[0](X), X)
upstream = torch.randn(4, 3, 6, 6)
assert torch.equal(torch.autograd.grad(ten(X), X, upstream)[0], upstream)
after = torch.autograd.grad(silent(X), X, upstream)[0]  # of check C2
assert torch.equal(after, upstream * (X > 0))
assert after.any() and not after.all()  # some of it is lost, not all

# %% [markdown]
# ### Exercise 8.6-5
#
# If larger classes are never worse, why not widen without bound?
# Train a residual network of two stages at widths from $\frac18$ to 1 on 1000 images of $20\times20$ pixels, with equal steps.

# %% [markdown]
# #### Solution 8.6-5

# %% [markdown]
# Training loss falls from the narrowest to the widest network (one seed, one learning rate), as equation (8.6.1) suggests but does not promise for equal steps.
# It speaks of the training loss only: the accuracy on new images need not follow ([Section 5.5](../05-multilayer-perceptrons/05-generalization-deep-learning.ipynb)), and the work grows with the square of the width.

# %% tags=["rtol=0.3"]
few = FashionMNIST(64, resize=(20, 20), train_size=min(train_size, 1000),
                   val_size=val_size)
by_width = {}
for share in (1 / 8, 1 / 4, 1 / 2, 1):
    torch.manual_seed(0)
    net = apply_init(ResNet(((1, 64), (1, 128)), 0.05, width=share),
                     few.X_train[:2], init_cnn)
    wide_history = fit_quietly(net, few, min(max_epochs, 3),
                               num_gpus=num_gpus)
    by_width[share] = wide_history["train_loss"][-1]
    print(f"width {share:5.3f}: training loss {by_width[share]:.2f}, "
          f"validation accuracy {wide_history['val_acc'][-1]:.2f}")
if full_run and real:
    assert by_width[1] < by_width[1 / 8] - 0.2

# %% tags=["hide-input"]
# check: images and epochs as said
assert (len(few.y_train), len(few.y_val)) == (min(train_size, 1000), val_size)
assert len(wide_history["train_loss"]) == min(max_epochs, 3)

# %% [markdown]
# ### Exercise 8.6-6
#
# Remove one block from the trained ResNet-18, without training it again: replace the second block of a stage by a ReLU.
# How much accuracy does it cost?

# %% [markdown]
# #### Solution 8.6-6

# %% [markdown]
# The second block of each stage has an identity shortcut; without its branch the stage still gives maps of the right kind.
# What we lose depends on the stage; without any one of the four the accuracy stays far above the 10 % of guessing.
# Veit et al. (2016) removed parts from a network of 110 layers in this way, and concluded that its paths do not depend strongly on each other.

# %% tags=["rtol=0.4"]
without = {}
for k in range(1, 5):
    kept = model.net[k][1]
    model.net[k][1] = nn.ReLU()
    without[k] = loss_and_accuracy(model, data.get_dataloader(False))[1]
    model.net[k][1] = kept
print(f"accuracy {val_accuracy:.2f}; without one block:",
      " ".join(f"{a:.2f}" for a in without.values()))
assert loss_and_accuracy(model, data.get_dataloader(False))[1] == (
    val_accuracy)  # the network is whole again
if full_run and real and max_epochs < 10:
    assert all(0.4 < a < val_accuracy for a in without.values())

# %% [markdown]
# ## Sources
#
# - K. He, X. Zhang, S. Ren and J. Sun, Deep residual learning for image recognition, 2015, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385): residual blocks, ResNet-18 to 152, degradation of plain networks, ILSVRC 2015.
# - K. He, X. Zhang, S. Ren and J. Sun, Identity mappings in deep residual networks, 2016, [arXiv:1603.05027](https://arxiv.org/abs/1603.05027): pre-activation, 1001 layers, the gradient along shortcuts.
# - R. K. Srivastava, K. Greff and J. Schmidhuber, Highway networks, 2015, [arXiv:1505.00387](https://arxiv.org/abs/1505.00387): shortcuts with gates.
# - S. Xie, R. Girshick, P. Dollár, Z. Tu and K. He, Aggregated residual transformations for deep neural networks, 2017, [arXiv:1611.05431](https://arxiv.org/abs/1611.05431): ResNeXt.
# - D. Balduzzi et al., The shattered gradients problem, 2017, [arXiv:1702.08591](https://arxiv.org/abs/1702.08591).
# - H. Li et al., Visualizing the loss landscape of neural nets, 2018, [arXiv:1712.09913](https://arxiv.org/abs/1712.09913).
# - A. Veit, M. Wilber and S. Belongie, Residual networks behave like ensembles of relatively shallow networks, 2016, [arXiv:1605.06431](https://arxiv.org/abs/1605.06431): paths, and removing blocks.
# - S. Zagoruyko and N. Komodakis, DiracNets: training very deep neural networks without skip-connections, 2017, [arXiv:1706.00388](https://arxiv.org/abs/1706.00388).
# - G. Huang et al., Deep networks with stochastic depth, 2016, [arXiv:1603.09382](https://arxiv.org/abs/1603.09382).
# - R. Wightman, H. Touvron and H. Jégou, ResNet strikes back, 2021, [arXiv:2110.00476](https://arxiv.org/abs/2110.00476): the recipe that brings ResNet-50 to 80.4 %.
# - torchvision documentation, [ResNet](https://docs.pytorch.org/vision/stable/models/resnet.html): where the stride stands.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the argument with nested classes, and the order of topics.
