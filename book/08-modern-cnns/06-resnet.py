# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         num_gpus: 1
#       smoke:
#         max_epochs: 1
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

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, layer_summary)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST)
from d2l_helpers.chapters.modern_cnns import fit_quietly, scaled

# %% tags=["parameters"]
max_epochs = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class Residual(nn.Module):
    """relu(g(X) + shortcut(X)) with two 3x3 convolutions in g.

    The shortcut is the identity, or with `use_1x1conv` a convolution that
    adapts channels and, by `strides`, resolution. `bias` gives the
    convolutions biases, `norm_shortcut` normalizes the 1x1 convolution.
    """

    def __init__(self, num_channels, use_1x1conv=False, strides=1,
                 bias=True, norm_shortcut=False):
        super().__init__()
        self.conv1 = nn.LazyConv2d(num_channels, kernel_size=3, padding=1,
                                   stride=strides, bias=bias)
        self.bn1 = nn.LazyBatchNorm2d()
        self.conv2 = nn.LazyConv2d(num_channels, kernel_size=3, padding=1,
                                   bias=bias)
        self.bn2 = nn.LazyBatchNorm2d()
        self.shortcut = shortcut(num_channels, strides, bias,
                                 norm_shortcut) if use_1x1conv else None

    def forward(self, X):
        Y = nn.functional.relu(self.bn1(self.conv1(X)))
        Y = self.bn2(self.conv2(Y))
        return nn.functional.relu(
            Y + (X if self.shortcut is None else self.shortcut(X)))


def shortcut(num_channels, strides, bias, norm):
    """A 1x1 convolution, with `norm` followed by batch normalization."""
    conv = nn.LazyConv2d(num_channels, kernel_size=1, stride=strides,
                         bias=bias)
    return nn.Sequential(conv, nn.LazyBatchNorm2d()) if norm else conv

# %% tags=["export"]
class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions.

    `num_channels` enter the next block; the 3x3 convolution, which has the
    stride, works on `inner` times as many in `groups` groups.
    """

    def __init__(self, num_channels, use_1x1conv=False, strides=1,
                 bias=False, norm_shortcut=True, inner=0.25, groups=1):
        super().__init__()
        c = scaled(num_channels, inner)
        self.conv1 = nn.LazyConv2d(c, kernel_size=1, bias=bias)
        self.bn1 = nn.LazyBatchNorm2d()
        self.conv2 = nn.LazyConv2d(c, kernel_size=3, stride=strides,
                                   padding=1, groups=groups, bias=bias)
        self.bn2 = nn.LazyBatchNorm2d()
        self.conv3 = nn.LazyConv2d(num_channels, kernel_size=1, bias=bias)
        self.bn3 = nn.LazyBatchNorm2d()
        self.shortcut = shortcut(num_channels, strides, bias,
                                 norm_shortcut) if use_1x1conv else None

    def forward(self, X):
        Y = nn.functional.relu(self.bn1(self.conv1(X)))
        Y = nn.functional.relu(self.bn2(self.conv2(Y)))
        Y = self.bn3(self.conv3(Y))
        return nn.functional.relu(
            Y + (X if self.shortcut is None else self.shortcut(X)))

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
            nn.LazyConv2d(channels, kernel_size=7, stride=2, padding=3,
                          bias=not self.reference),
            nn.LazyBatchNorm2d(), nn.ReLU(),
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

# %% tags=["export"]
def port_state(src, dst):
    """Copy all parameters and buffers of `src` to `dst`, in order.

    The two modules may name their tensors differently, but must have
    equally many, of the same shapes; a ValueError names the first pair
    that does not fit, and `dst` is then left as it was. Returns `dst`.
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

# %% tags=["export"]
class ResNeXtBlock(nn.Module):
    """A residual block whose 3x3 convolution works in groups.

    `bot_mul` times `num_channels` channels inside, in groups of
    `group_width` channels each.
    """

    def __init__(self, num_channels, group_width, bot_mul,
                 use_1x1conv=False, strides=1):
        super().__init__()
        c = scaled(num_channels, bot_mul)
        if c % group_width:
            raise ValueError(f"{c} inner channels cannot be divided into "
                             f"groups of {group_width}.")
        self.conv1 = nn.LazyConv2d(c, kernel_size=1)
        self.bn1 = nn.LazyBatchNorm2d()
        self.conv2 = nn.LazyConv2d(c, kernel_size=3, stride=strides,
                                   padding=1, groups=c // group_width)
        self.bn2 = nn.LazyBatchNorm2d()
        self.conv3 = nn.LazyConv2d(num_channels, kernel_size=1)
        self.bn3 = nn.LazyBatchNorm2d()
        self.shortcut = shortcut(num_channels, strides, bias=True,
                                 norm=True) if use_1x1conv else None

    def forward(self, X):
        Y = nn.functional.relu(self.bn1(self.conv1(X)))
        Y = nn.functional.relu(self.bn2(self.conv2(Y)))
        Y = self.bn3(self.conv3(Y))
        return nn.functional.relu(
            Y + (X if self.shortcut is None else self.shortcut(X)))
