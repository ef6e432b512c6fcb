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
# # 10.4 Bidirectional recurrent neural networks

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.recurrent_neural_networks import RNN, RNNScratch

# %% tags=["parameters"]
max_epochs = 30
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class BiRNNScratch(Module):
    """Two layers of RNNScratch, one of which reads from the end.

    Their outputs are put side by side, so `num_hiddens` is twice that of
    each.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.f_rnn = RNNScratch(num_inputs, num_hiddens, sigma)
        self.b_rnn = RNNScratch(num_inputs, num_hiddens, sigma)
        self.num_hiddens *= 2  # of the outputs

    def forward(self, inputs, Hs=None):
        """Outputs (T, n, 2h) and the two last states for (T, n, d)."""
        f_H, b_H = Hs or (None, None)
        f_outputs, f_H = self.f_rnn(inputs, f_H)
        b_outputs, b_H = self.b_rnn(inputs.flip(0), b_H)
        return torch.cat((f_outputs, b_outputs.flip(0)), dim=2), (f_H, b_H)

# %% tags=["export"]
class BiGRU(RNN):
    """`nn.GRU` in both directions; `num_hiddens` is twice that of each."""

    def __init__(self, num_inputs, num_hiddens):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.GRU(num_inputs, num_hiddens, bidirectional=True)
        self.num_hiddens *= 2  # of the outputs
