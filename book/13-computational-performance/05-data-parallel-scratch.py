# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu: {}
#       smoke: {}
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
# # 13.5 Training on multiple GPUs
#
# TODO: the question, in two or three sentences.

# %%
import torch
import torch.distributed as dist
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST

d2l.use_style()

# %% tags=["parameters"]
seed = 0

# %% tags=["export"]
def small_lenet(seed=0):
    """Scores (n, 10) for images (n, 1, 28, 28); same weights, same seed."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 20, kernel_size=3), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(20, 50, kernel_size=5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 10))


def fashion_tensors(n):
    """The first n images (n, 1, 28, 28) in [0, 1] and labels (n,)."""
    data = FashionMNIST(train_size=n)
    return data.X_train, data.y_train


def max_difference(first, second):
    """Largest absolute difference between two lists of tensors."""
    return max((a - b).abs().max().item()
               for a, b in zip(first, second, strict=True))

# %% tags=["export"]
def broadcast_params(params):
    """Give every rank the parameters of rank 0, in place."""
    for p in params:
        dist.broadcast(p.detach(), src=0)


def allreduce_grads(params, share):
    """Replace the gradients by the sum over ranks of share * gradient."""
    grads = [p.grad for p in params]
    flat = share * torch.cat([g.flatten() for g in grads])  # (N,)
    dist.all_reduce(flat)
    parts = flat.split([g.numel() for g in grads])
    for g, part in zip(grads, parts, strict=True):
        g.copy_(part.view_as(g))

# %%
print(small_lenet(seed)(fashion_tensors(4)[0]).shape)
