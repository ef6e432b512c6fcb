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
# # 8.7 DenseNet

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, layer_summary)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST)
from d2l_helpers.chapters.modern_cnns import fit_quietly, port_state, scaled

# %% tags=["parameters"]
max_epochs = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
def conv_block(num_channels):
    """Batch normalization, ReLU, 3x3 convolution to `num_channels`."""
    return nn.Sequential(
        nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(num_channels, kernel_size=3, padding=1))

# %% tags=["export"]
class DenseBlock(nn.Module):
    """`num_convs` blocks, each of which sees all earlier outputs.

    (n, c, h, w) -> (n, c + num_convs * num_channels, h, w), the input
    first; `block(num_channels)` makes one of the blocks.
    """

    def __init__(self, num_convs, num_channels, block=conv_block):
        super().__init__()
        self.net = nn.Sequential(*(block(num_channels)
                                   for _ in range(num_convs)))

    def forward(self, X):
        for part in self.net:
            X = torch.cat((X, part(X)), dim=1)
        return X

# %% tags=["export"]
def transition_block(num_channels):
    """To `num_channels` by a 1x1 convolution; halved by averaging."""
    return nn.Sequential(
        nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(num_channels, kernel_size=1),
        nn.AvgPool2d(kernel_size=2, stride=2))

# %% tags=["export"]
class DenseNet(Classifier):
    """A DenseNet; returns scores (n, num_classes).

    `num_channels` leave the stem, each layer of a dense block adds
    `growth_rate`, `arch` is the number of layers in each block; `width`
    multiplies the first two.
    """

    def __init__(self, num_channels=64, growth_rate=32, arch=(4, 4, 4, 4),
                 lr=0.01, num_classes=10, width=1.0):
        super().__init__()
        self.save_hyperparameters()
        channels, growth = scaled(num_channels, width), scaled(
            growth_rate, width)
        layers = [self.b1(channels)]
        for i, num_convs in enumerate(arch):
            layers.append(DenseBlock(num_convs, growth))
            channels += num_convs * growth
            if i < len(arch) - 1:
                channels //= 2
                layers.append(transition_block(channels))
        self.net = nn.Sequential(*layers, nn.Sequential(
            nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.LazyLinear(num_classes)))

    def b1(self, channels):
        """The stem of ResNet: a quarter of the height and width."""
        return nn.Sequential(
            nn.LazyConv2d(channels, kernel_size=7, stride=2, padding=3),
            nn.LazyBatchNorm2d(), nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
