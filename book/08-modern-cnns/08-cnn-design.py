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
# # 8.8 Designing convolutional networks: AnyNet and RegNet

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, layer_summary)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST)
from d2l_helpers.chapters.modern_cnns import (
    ResNeXtBlock, fit_quietly)

# %% tags=["parameters"]
max_epochs = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class AnyNet(Classifier):
    """Stem, stages, head; returns scores (n, num_classes).

    `arch` lists (depth, channels, group_width, bot_mul) for each stage,
    which halves height and width. `block` is called as
    block(channels, group_width, bot_mul, use_1x1conv, strides).
    """

    def __init__(self, arch, stem_channels, lr=0.05, num_classes=10,
                 block=ResNeXtBlock):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            self.stem(stem_channels),
            *(self.stage(*stage) for stage in arch),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.LazyLinear(num_classes)))

    def stem(self, channels):
        return nn.Sequential(
            nn.LazyConv2d(channels, kernel_size=3, stride=2, padding=1),
            nn.LazyBatchNorm2d(), nn.ReLU())

    def stage(self, depth, channels, group_width, bot_mul):
        return nn.Sequential(*(
            self.block(channels, group_width, bot_mul, i == 0,
                       2 if i == 0 else 1) for i in range(depth)))

# %% tags=["export"]
class RegNetX32(AnyNet):
    """RegNetX with 32 layers: two stages of 4 and 6 blocks."""

    def __init__(self, lr=0.05, num_classes=10):
        super().__init__(((4, 32, 16, 1), (6, 80, 16, 1)), 32, lr,
                         num_classes)

# %% tags=["export"]
def ecdf(errors):
    """The empirical distribution function of the values `errors` (n,).

    Returns F with F(e) = share of values that are at most e; e is a number
    or a tensor (...), F(e) a float64 tensor of the same shape.
    """
    values = torch.as_tensor(errors, dtype=torch.float64).sort().values
    if values.ndim != 1 or len(values) == 0:
        raise ValueError("ecdf needs at least one value, got a tensor of "
                         f"shape {tuple(values.shape)}.")

    def F(e):
        e = torch.as_tensor(e, dtype=torch.float64, device=values.device)
        below = torch.searchsorted(values, e, right=True)
        return below.double() / len(values)

    return F
