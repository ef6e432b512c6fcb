# ---
# jupyter:
#   d2l:
#     data: [time-machine, austen]
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
# # 10.3 Deep recurrent neural networks

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.recurrent_neural_networks import RNNScratch
from d2l_helpers.chapters.modern_rnns import GRU

# %% tags=["parameters"]
max_epochs = 30
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class StackedRNNScratch(Module):
    """Layers of RNNScratch, each reading the outputs of the one below."""

    def __init__(self, num_inputs, num_hiddens, num_layers, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.rnns = nn.ModuleList(
            RNNScratch(num_hiddens if i else num_inputs, num_hiddens, sigma)
            for i in range(num_layers))

    def forward(self, inputs, Hs=None):
        """Outputs (T, n, h) of the last layer and a list of last states.

        `Hs` is a list of one state (n, h) for each layer; it is not changed.
        """
        outputs, last = inputs, []
        for rnn, H in zip(self.rnns, Hs or [None] * self.num_layers,
                          strict=True):
            outputs, H = rnn(outputs, H)
            last.append(H)
        return outputs, last
