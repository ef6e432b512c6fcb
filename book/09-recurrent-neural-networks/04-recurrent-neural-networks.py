# ---
# jupyter:
#   d2l:
#     data: [time-machine]
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
# # 9.4 Recurrent neural networks

# %%
import torch

import d2l_helpers as d2l

# %% tags=["parameters"]
num_gpus = 0  # 1: use an accelerator, if there is one

# %% tags=["export"]
def rnn_step(X, H, W_xh, W_hh, b_h, phi=torch.tanh):
    """One step: the new state (n, h) from inputs X (n, d) and state H."""
    return phi(X @ W_xh + H @ W_hh + b_h)

# %% tags=["export"]
def rnn_forward(Xs, H, params, phi=torch.tanh):
    """The states (T, n, h) after each of the inputs Xs (T, n, d).

    `H` (n, h) is the state before the first step and `params` the triple
    (W_xh, W_hh, b_h).
    """
    states = []
    for X in Xs:
        H = rnn_step(X, H, *params, phi=phi)
        states.append(H)
    return torch.stack(states)

# %% tags=["export"]
def influence(f, Xs):
    """How much output t depends on input s: a matrix (T, T).

    `f` maps inputs Xs (T, n, d) to outputs (T, n, q). Row t, column s is
    the norm of the gradient of the sum of output t with respect to input s:
    zeros above the diagonal mean that no output sees a later input.
    """
    Xs = Xs.detach().requires_grad_()
    rows = [torch.autograd.grad(out.sum(), Xs, retain_graph=True)[0]
            for out in f(Xs)]
    return torch.stack(rows).flatten(2).norm(dim=2)
