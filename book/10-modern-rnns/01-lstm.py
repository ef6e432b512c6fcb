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
# # 10.1 Long short-term memory (LSTM)

# %%
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.recurrent_neural_networks import RNN

# %% tags=["parameters"]
max_epochs = 30
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class LSTMScratch(Module):
    """A layer of long short-term memory, from tensors.

    Weights are normal with standard deviation `sigma`; biases are zero,
    but that of the forget gate is `forget_bias`.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01,
                 forget_bias=0.0):
        super().__init__()
        self.save_hyperparameters()

        def triple():
            return (nn.Parameter(sigma * torch.randn(num_inputs,
                                                     num_hiddens)),
                    nn.Parameter(sigma * torch.randn(num_hiddens,
                                                     num_hiddens)),
                    nn.Parameter(torch.zeros(num_hiddens)))

        self.W_xi, self.W_hi, self.b_i = triple()  # input gate
        self.W_xf, self.W_hf, self.b_f = triple()  # forget gate
        self.W_xo, self.W_ho, self.b_o = triple()  # output gate
        self.W_xc, self.W_hc, self.b_c = triple()  # input node
        nn.init.constant_(self.b_f, forget_bias)

    def step(self, X, H, C):
        """The next hidden state and internal state, both (n, h)."""
        I = torch.sigmoid(X @ self.W_xi + H @ self.W_hi + self.b_i)
        F = torch.sigmoid(X @ self.W_xf + H @ self.W_hf + self.b_f)
        O = torch.sigmoid(X @ self.W_xo + H @ self.W_ho + self.b_o)
        C_tilde = torch.tanh(X @ self.W_xc + H @ self.W_hc + self.b_c)
        C = F * C + I * C_tilde
        return O * torch.tanh(C), C

    def forward(self, inputs, H_C=None):
        """Outputs (T, n, h) and (H, C), each (n, h), for (T, n, d).

        Without `H_C` both states begin at zero.
        """
        if H_C is None:
            zeros = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
            H_C = zeros, zeros
        H, C = H_C
        outputs = []
        for X in inputs:
            H, C = self.step(X, H, C)
            outputs.append(H)
        return torch.stack(outputs), (H, C)

# %% tags=["export"]
class LSTM(RNN):
    """`nn.LSTM` with one layer; the state is (H, C), each (1, n, h)."""

    def __init__(self, num_inputs, num_hiddens):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.LSTM(num_inputs, num_hiddens)

# %% tags=["export"]
def recall_task(batch_size, T, num_symbols, generator=None):
    """Remember the first of T + 1 symbols.

    Returns one-hot inputs (T + 1, batch_size, num_symbols + 1), of which
    the first is the symbol and the others are a blank, the last class, and
    the symbols (batch_size,).
    """
    y = torch.randint(num_symbols, (batch_size,), generator=generator)
    X = torch.zeros(T + 1, batch_size, num_symbols + 1)
    X[0, torch.arange(batch_size), y] = 1
    X[1:, :, -1] = 1
    return X, y
