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
# # 9.5 Recurrent neural network implementation from scratch

# %%
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Module, Trainer
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.recurrent_neural_networks import (
    TimeMachine, rnn_forward)

# %% tags=["parameters"]
max_epochs = 60
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
class RNNScratch(Module):
    """A recurrent layer of tanh units, from tensors.

    Weights are normal with standard deviation `sigma`, biases zero.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.W_xh = nn.Parameter(sigma * torch.randn(num_inputs,
                                                     num_hiddens))
        self.W_hh = nn.Parameter(sigma * torch.randn(num_hiddens,
                                                     num_hiddens))
        self.b_h = nn.Parameter(torch.zeros(num_hiddens))

    def forward(self, inputs, state=None):
        """Outputs (T, n, h) and the last state (n, h) for inputs (T, n, d).

        Without `state` the first one is zero.
        """
        if state is None:
            state = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
        outputs = rnn_forward(inputs, state,
                              (self.W_xh, self.W_hh, self.b_h))
        return outputs, outputs[-1]

# %% tags=["export"]
class RNNLMScratch(Classifier):
    """A language model: scores of the next token at each step.

    `rnn` maps inputs (T, n, vocab_size) and a state to outputs (T, n, h)
    and a new state, and has `num_hiddens`; `sigma` scales the weights of
    the output layer.
    """

    def __init__(self, rnn, vocab_size, lr=0.01, sigma=0.01):
        super().__init__()
        self.save_hyperparameters(ignore=["rnn"])
        self.rnn = rnn
        self.init_params()

    def init_params(self):
        shape = self.rnn.num_hiddens, self.vocab_size
        self.W_hq = nn.Parameter(self.sigma * torch.randn(shape))
        self.b_q = nn.Parameter(torch.zeros(self.vocab_size))

    def one_hot(self, X):
        """Indices (n, T) as rows (T, n, vocab_size) of zeros and a one."""
        return F.one_hot(X.T, self.vocab_size).float()

    def output_layer(self, H):
        """Scores (n, T, vocab_size) from states H (T, n, h)."""
        return (H @ self.W_hq + self.b_q).transpose(0, 1)

    def forward(self, X, state=None):
        """Scores (n, T, vocab_size) for indices X (n, T)."""
        outputs, _ = self.rnn(self.one_hot(X), state)
        return self.output_layer(outputs)

# %% tags=["export"]
def clip_gradients(params, max_norm):
    """Scale all gradients together so that their norm is at most max_norm.

    Returns the norm before, a scalar tensor. Parameters without a gradient
    are left out. Gradients change in place, and nothing waits for the
    device.
    """
    grads = [p.grad for p in params if p.grad is not None]
    norm = torch.stack([g.norm() for g in grads]).norm()
    factor = (max_norm / norm).clamp(max=1.0)
    for grad in grads:
        grad *= factor
    return norm

# %% tags=["export"]
class ClippingTrainer(Trainer):
    """The Trainer, able to clip; `norms` lists the gradient norms.

    One norm for each step with gradient_clip_val > 0, before clipping.
    """

    def reset(self):
        super().reset()
        self.norms = []

    def clip_gradients(self, max_norm, model):
        self.norms.append(clip_gradients(model.parameters(), max_norm))

# %% tags=["export"]
def fit_clipped(model, data, epochs, clip=1.0, optimizer=None, seed=0,
                num_gpus=0):
    """Train with clipped gradients, without a picture.

    `optimizer` is called with the parameters and returns an optimizer;
    without it the model's own is used. `seed` fixes the order of the
    windows and PyTorch's global generator. Returns the history: a dict of
    lists with one mean per epoch, "train_loss", "val_loss", "val_acc"; the
    perplexity is exp of such a loss.
    """
    model.board.display = False
    if optimizer is not None:
        model.configure_optimizers = lambda: optimizer(model.parameters())
    data.generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    trainer = ClippingTrainer(max_epochs=epochs, num_gpus=num_gpus,
                              gradient_clip_val=clip)
    trainer.fit(model, data)
    return trainer.history

# %% tags=["export"]
def continue_text(model, prefix, num_preds, vocab, temperature=0.0,
                  generator=None):
    """`prefix` and `num_preds` more characters, as a string.

    `temperature=0` takes the most probable character each time; otherwise
    one is drawn from the softmax of the scores divided by `temperature`,
    with random numbers of `generator`, a generator of the CPU. `prefix` has
    at least one character.
    """
    device = next(model.parameters()).device
    state, text = None, list(prefix)
    fed = torch.tensor([vocab[text]], device=device)  # (1, T)
    with torch.no_grad():
        for _ in range(num_preds):
            outputs, state = model.rnn(model.one_hot(fed), state)
            scores = model.output_layer(outputs[-1:])[0, -1].cpu()
            if temperature == 0:
                index = scores.argmax()
            else:
                p = torch.softmax(scores / temperature, dim=0)
                index = torch.multinomial(p, 1, generator=generator)[0]
            text.append(vocab.to_tokens(index.item()))
            fed = index.reshape(1, 1).to(device)
    return "".join(text)
