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
# # 8.2 VGG

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
def vgg_block(num_convs, out_channels):
    """`num_convs` convolutions 3x3, each with ReLU; halved by pooling."""
    layers = []
    for _ in range(num_convs):
        layers += [nn.LazyConv2d(out_channels, kernel_size=3, padding=1),
                   nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(kernel_size=2, stride=2))

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
