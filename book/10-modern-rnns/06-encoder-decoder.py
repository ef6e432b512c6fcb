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
# # 10.6 The encoder-decoder architecture

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import Classifier

# %% tags=["parameters"]
num_gpus = 0  # 1: use an accelerator, if there is one

# %% tags=["export"]
class Encoder(nn.Module):
    """Turns a sequence into something that a decoder can begin with."""

    def forward(self, X, *args):
        raise NotImplementedError("define forward(X, *args)")

# %% tags=["export"]
class Decoder(nn.Module):
    """Turns what an encoder found into a sequence, token by token."""

    def init_state(self, enc_all_outputs, *args):
        """The first state, made of what the encoder returned."""
        raise NotImplementedError("define init_state(enc_all_outputs)")

    def forward(self, X, state):
        """Scores (n, T, vocab_size) and the state after tokens (n, T)."""
        raise NotImplementedError("define forward(X, state)")

# %% tags=["export"]
class EncoderDecoder(Classifier):
    """An encoder, and a decoder that begins with what it returns."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, enc_X, dec_X, *args):
        """Scores (n, T', vocab_size); `args` reach encoder and decoder."""
        enc_all_outputs = self.encoder(enc_X, *args)
        dec_state = self.decoder.init_state(enc_all_outputs, *args)
        return self.decoder(dec_X, dec_state)[0]
