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
# # 8.4 GoogLeNet and Inception

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

# %% tags=["export"]
class GoogLeNet(Classifier):
    """GoogLeNet without auxiliary heads; returns scores (n, num_classes).

    The input is (n, channels, h, w) of any size; `width` multiplies the
    channels, `norm` adds batch normalization after each convolution.
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
