# ---
# jupyter:
#   d2l:
#     data: [time-machine]
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
# # 10.2 Gated recurrent units (GRU)

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.recurrent_neural_networks import RNN, linear_scan

# %% tags=["parameters"]
max_epochs = 30
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class GRUScratch(Module):
    """A layer of gated recurrent units, from tensors.

    The reset gate acts on the state before the matrix product, or, with
    `reset_after`, on the product, where the bias of the state's part is
    inside, as in `nn.GRU`. Weights are normal with standard deviation
    `sigma`, biases zero.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01,
                 reset_after=False):
        super().__init__()
        self.save_hyperparameters()

        def triple():
            return (nn.Parameter(sigma * torch.randn(num_inputs,
                                                     num_hiddens)),
                    nn.Parameter(sigma * torch.randn(num_hiddens,
                                                     num_hiddens)),
                    nn.Parameter(torch.zeros(num_hiddens)))

        self.W_xr, self.W_hr, self.b_r = triple()  # reset gate
        self.W_xz, self.W_hz, self.b_z = triple()  # update gate
        self.W_xh, self.W_hh, self.b_h = triple()  # candidate
        if reset_after:
            self.b_hh = nn.Parameter(torch.zeros(num_hiddens))

    def step(self, X, H):
        """The next state (n, h)."""
        R = torch.sigmoid(X @ self.W_xr + H @ self.W_hr + self.b_r)
        Z = torch.sigmoid(X @ self.W_xz + H @ self.W_hz + self.b_z)
        if self.reset_after:
            recalled = R * (H @ self.W_hh + self.b_hh)
        else:
            recalled = (R * H) @ self.W_hh
        H_tilde = torch.tanh(X @ self.W_xh + recalled + self.b_h)
        return Z * H + (1 - Z) * H_tilde

    def forward(self, inputs, H=None):
        """Outputs (T, n, h) and the last state (n, h) for (T, n, d)."""
        if H is None:
            H = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
        outputs = []
        for X in inputs:
            H = self.step(X, H)
            outputs.append(H)
        return torch.stack(outputs), H

# %% tags=["export"]
class GRU(RNN):
    """`nn.GRU`; the state is (num_layers, n, h).

    `dropout` acts between the layers.
    """

    def __init__(self, num_inputs, num_hiddens, num_layers=1, dropout=0):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.GRU(num_inputs, num_hiddens, num_layers,
                          dropout=dropout)

# %% tags=["export"]
class MinGRU(Module):
    """The minimal GRU: gate and candidate see only the input.

    So the update is linear in the state, and `linear_scan` computes all
    steps at once; the state is (n, h).
    """

    def __init__(self, num_inputs, num_hiddens):
        super().__init__()
        self.save_hyperparameters()
        self.gate = nn.Linear(num_inputs, num_hiddens)
        self.candidate = nn.Linear(num_inputs, num_hiddens)

    def forward(self, inputs, H=None):
        """Outputs (T, n, h) and the last state for inputs (T, n, d)."""
        Z = torch.sigmoid(self.gate(inputs))
        b = (1 - Z) * self.candidate(inputs)
        if H is not None:
            b = torch.cat((b[:1] + Z[:1] * H, b[1:]))
        outputs = linear_scan(Z, b)
        return outputs, outputs[-1]
