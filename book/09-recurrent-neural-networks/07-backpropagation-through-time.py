# ---
# jupyter:
#   d2l:
#     profiles:
#       gpu:
#         num_gpus: 1
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
# # 9.7 Backpropagation through time

# %%
import torch
from torch import nn

import d2l_helpers as d2l

# %% tags=["parameters"]
num_gpus = 0  # 1: use an accelerator, if there is one

# %% tags=["export"]
def state_grad_norms(rnn, Xs, H, readout=None):
    """Norms of the gradient of the last state's loss at each state.

    `rnn(X, H)` is one step, from X (n, d) and H (n, h) to the next state.
    The loss is the sum of the last state, or `readout` of it. Returns
    (T + 1,): place t is the norm of the gradient with respect to H_t.
    """
    states = [H.detach().requires_grad_()]
    for X in Xs:
        states.append(rnn(X, states[-1]))
    loss = (readout or torch.sum)(states[-1])
    grads = torch.autograd.grad(loss, states)
    return torch.stack([grad.norm() for grad in grads])

# %% tags=["export"]
def linear_scan(a, b):
    """All states of h_t = a_t h_{t-1} + b_t, h_0 = 0, in log2(T) rounds.

    `a` and `b` have shape (T, ...), elementwise; so does the result.
    """
    distance = 1
    while distance < len(a):
        early_a, early_b = a[:-distance], b[:-distance]
        b = torch.cat((b[:distance],
                       a[distance:] * early_b + b[distance:]))
        a = torch.cat((a[:distance], a[distance:] * early_a))
        distance *= 2
    return b
