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
# # 8.3 Network in network (NiN)

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
def nin_block(out_channels, kernel_size, strides, padding, last_relu=True):
    """A convolution and two 1x1 convolutions, each followed by ReLU.

    `last_relu=False` leaves out the last of the three activations.
    """
    layers = [
        nn.LazyConv2d(out_channels, kernel_size, strides, padding),
        nn.ReLU(),
        nn.LazyConv2d(out_channels, kernel_size=1), nn.ReLU(),
        nn.LazyConv2d(out_channels, kernel_size=1)]
    return nn.Sequential(*layers, *([nn.ReLU()] if last_relu else []))

# %% tags=["export"]
class NiN(Classifier):
    """Network in network; returns scores (n, num_classes).

    The input is (n, channels, h, w) with h and w of at least 67; `width`
    multiplies the channels of all blocks but the last, which has one
    channel for each class. `final_relu` puts a ReLU before the average.
    """

    def __init__(self, lr=0.05, num_classes=10, width=1.0,
                 final_relu=False):
        super().__init__()
        self.save_hyperparameters()
        c1, c2, c3 = (scaled(c, width) for c in (96, 256, 384))
        self.net = nn.Sequential(
            nin_block(c1, kernel_size=11, strides=4, padding=0),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nin_block(c2, kernel_size=5, strides=1, padding=2),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nin_block(c3, kernel_size=3, strides=1, padding=1),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Dropout(0.5),
            nin_block(num_classes, kernel_size=3, strides=1, padding=1,
                      last_relu=final_relu),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten())
