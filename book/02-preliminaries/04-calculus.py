# ---
# jupyter:
#   d2l:
#     data: []
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
# # 2.4 Calculus
#
# Training a network means to turn millions of knobs a little, so that the loss falls.
# Which way should each knob turn, and how much does it matter?
# The derivative answers both questions.

# %%
import math

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64

# %% tags=["export"]
def numerical_derivative(f, x, h=1e-5, scheme="central"):
    """Difference quotient of `f` at `x`, a number or a tensor.

    `f` maps a number to a number; on a tensor it must act elementwise.
    The scheme is "central" or "forward". The default step suits float64;
    in float32 take `h` near 1e-2.
    """
    if scheme == "central":
        return (f(x + h) - f(x - h)) / (2 * h)
    if scheme == "forward":
        return (f(x + h) - f(x)) / h
    raise ValueError(f"scheme is {scheme!r}; use 'central' or 'forward'.")

# %% tags=["export"]
def numerical_gradient(f, x, h=1e-5, scheme="central"):
    """Gradient of `f` at the tensor `x`, one partial derivative at a time.

    `f` maps a tensor of the shape of `x`, any shape, to a number or to a
    tensor with one element. Returns a tensor of the shape and dtype of
    `x`, which stays unchanged. Costs two calls of `f` for each element.
    """
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}; a step h needs floats.")
    x = x.detach()
    gradient = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
    for i in range(x.numel()):
        unit = torch.zeros_like(gradient)
        unit[i] = 1

        def along_axis(t):  # x moves by t along axis i only
            return torch.as_tensor(f(x + t * unit.reshape(x.shape))).item()

        gradient[i] = numerical_derivative(along_axis, 0.0, h, scheme)
    return gradient.reshape(x.shape)

# %%
x = torch.tensor([1.0, 0.0], dtype=f64)
print(numerical_gradient(lambda x: 3 * x[0] ** 2 + 5 * x[1].exp(), x))
