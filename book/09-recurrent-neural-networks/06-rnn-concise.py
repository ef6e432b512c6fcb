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
# # 9.6 Concise implementation of recurrent neural networks

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.recurrent_neural_networks import (
    RNNLMScratch, RNNScratch, TimeMachine, fit_clipped)

# %% tags=["parameters"]
max_epochs = 60
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class RNN(Module):
    """`nn.RNN` with one layer of tanh units; state (1, n, h)."""

    def __init__(self, num_inputs, num_hiddens):
        super().__init__()
        self.save_hyperparameters()
        self.rnn = nn.RNN(num_inputs, num_hiddens)

    def forward(self, inputs, state=None):
        """Outputs (T, n, h) and the last state for inputs (T, n, d)."""
        return self.rnn(inputs, state)

# %% tags=["export"]
class RNNLM(RNNLMScratch):
    """The language model with a library's layers."""

    def init_params(self):
        self.linear = nn.Linear(self.rnn.num_hiddens, self.vocab_size)

    def output_layer(self, H):
        return self.linear(H).transpose(0, 1)
