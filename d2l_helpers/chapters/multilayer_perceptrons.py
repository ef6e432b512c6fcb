"""Chapter 5, Multilayer perceptrons: what its sections teach and later ones use.

Generated from book/05-multilayer-perceptrons/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import math
import torch
from d2l_helpers.chapters.linear_classification import Classifier
from torch import nn


# 5.2 Implementation of multilayer perceptrons
def relu(X):
    """The larger of X and 0, entry by entry; X has any shape."""
    return torch.max(X, torch.zeros_like(X))


# 5.2 Implementation of multilayer perceptrons
class MLPScratch(Classifier):
    """A perceptron with one hidden layer; returns logits (n, q)."""

    def __init__(self, num_inputs, num_outputs, num_hiddens, lr,
                 sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        d, h, q = num_inputs, num_hiddens, num_outputs
        self.W1 = nn.Parameter(sigma * torch.randn(d, h))
        self.b1 = nn.Parameter(torch.zeros(h))
        self.W2 = nn.Parameter(sigma * torch.randn(h, q))
        self.b2 = nn.Parameter(torch.zeros(q))

    def forward(self, X):
        X = X.reshape(len(X), self.num_inputs)  # (n, ...) -> (n, d)
        H = relu(X @ self.W1 + self.b1)  # (n, h)
        return H @ self.W2 + self.b2  # (n, q)


# 5.2 Implementation of multilayer perceptrons
class MLP(Classifier):
    """A perceptron with one hidden layer; returns logits (n, q)."""

    def __init__(self, num_outputs, num_hiddens, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(num_hiddens), nn.ReLU(),
            nn.LazyLinear(num_outputs))


# 5.5 Generalization in deep learning
class EarlyStopping:
    """Stop when a value has not fallen for `patience` epochs in a row.

    Call `step` once an epoch with a value to be minimized, such as the
    validation loss. An improvement must exceed `min_delta`. `best` and
    `best_epoch` (counted from 1) say what was best and when; a model
    given to `step` is remembered at that epoch for `restore`.
    """

    def __init__(self, patience=5, min_delta=0.0):
        if patience < 1:
            raise ValueError(f"patience is {patience}; use at least 1.")
        self.patience, self.min_delta = patience, min_delta
        self.best, self.best_epoch, self.epoch = math.inf, 0, 0
        self.state = None

    def step(self, value, model=None):
        """Record one epoch; True if the training should stop."""
        self.epoch += 1
        if float(value) < self.best - self.min_delta:
            self.best, self.best_epoch = float(value), self.epoch
            if model is not None:  # copies: state_dict gives references
                self.state = {name: tensor.detach().clone() for name, tensor
                              in model.state_dict().items()}
        return self.epoch - self.best_epoch >= self.patience

    def restore(self, model):
        """Give the model the parameters of the best epoch."""
        if self.state is None:
            raise RuntimeError("no state was kept; pass the model to step().")
        model.load_state_dict(self.state)
