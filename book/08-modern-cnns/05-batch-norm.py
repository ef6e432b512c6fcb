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
# # 8.5 Batch normalization

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, layer_summary)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST)
from d2l_helpers.chapters.modern_cnns import fit_quietly

# %% tags=["parameters"]
max_epochs = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
def batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum,
               training):
    """Normalize X (n, d) or (n, c, h, w) over all axes but the second.

    In training by the statistics of the batch, else by `moving_mean` and
    `moving_var`. `gamma`, `beta` and the moving statistics have shape (d,)
    or (c,). Returns the output and the new moving mean and variance;
    nothing is changed in place.
    """
    if X.ndim not in (2, 4):
        raise ValueError(f"batch_norm got an input of shape "
                         f"{tuple(X.shape)}; it takes (n, d) or "
                         f"(n, c, h, w).")
    axes = (0,) if X.ndim == 2 else (0, 2, 3)
    shape = (1, -1) if X.ndim == 2 else (1, -1, 1, 1)
    mean, var = moving_mean, moving_var
    if training:
        count = X.numel() // X.shape[1]  # values per feature or channel
        if count < 2:
            raise ValueError(f"a batch of shape {tuple(X.shape)} has one "
                             "value per feature and no variance; train "
                             "with at least two examples.")
        mean = X.mean(dim=axes)
        var = ((X - mean.view(shape)) ** 2).mean(dim=axes)  # biased
        moving_mean = ((1 - momentum) * moving_mean
                       + momentum * mean.detach())
        moving_var = ((1 - momentum) * moving_var
                      + momentum * var.detach() * count / (count - 1))
    X_hat = (X - mean.view(shape)) / torch.sqrt(var.view(shape) + eps)
    Y = gamma.view(shape) * X_hat + beta.view(shape)
    return Y, moving_mean, moving_var

# %% tags=["export"]
class BatchNorm(nn.Module):
    """Batch normalization for inputs (n, d) or (n, c, h, w).

    `num_features` is d or c, `num_dims` is 2 or 4. `momentum` is the
    weight of the new batch in the moving statistics, which are buffers:
    saved, loaded and moved with the module.
    """

    def __init__(self, num_features, num_dims, eps=1e-5, momentum=0.1):
        super().__init__()
        if num_dims not in (2, 4):
            raise ValueError(f"num_dims is {num_dims}; it must be 2 for "
                             "inputs (n, d) or 4 for (n, c, h, w).")
        self.num_dims, self.eps, self.momentum = num_dims, eps, momentum
        self.gamma = nn.Parameter(torch.ones(num_features))
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("moving_mean", torch.zeros(num_features))
        self.register_buffer("moving_var", torch.ones(num_features))

    def forward(self, X):
        if X.ndim != self.num_dims:
            raise ValueError(f"BatchNorm was made for {self.num_dims} axes "
                             f"and got an input {tuple(X.shape)}.")
        Y, self.moving_mean, self.moving_var = batch_norm(
            X, self.gamma, self.beta, self.moving_mean, self.moving_var,
            self.eps, self.momentum, self.training)
        return Y

# %% tags=["export"]
def layer_norm(X, eps=1e-5):
    """X (..., d), each vector along the last axis standardized."""
    mean = X.mean(dim=-1, keepdim=True)
    var = ((X - mean) ** 2).mean(dim=-1, keepdim=True)
    return (X - mean) / torch.sqrt(var + eps)

# %% tags=["export"]
def fold_bn(conv, bn):
    """One convolution that computes bn(conv(X)) in evaluation mode.

    `conv` is an nn.Conv2d, `bn` an nn.BatchNorm2d with moving statistics;
    both stay as they are.
    """
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)  # (c_o,)
    folded = nn.utils.skip_init(
        nn.Conv2d, conv.in_channels, conv.out_channels, conv.kernel_size,
        conv.stride, conv.padding, conv.dilation, conv.groups,
        padding_mode=conv.padding_mode, device=conv.weight.device,
        dtype=conv.weight.dtype)
    bias = 0 if conv.bias is None else conv.bias
    with torch.no_grad():
        folded.weight.copy_(conv.weight * scale[:, None, None, None])
        folded.bias.copy_((bias - bn.running_mean) * scale + bn.bias)
    return folded
