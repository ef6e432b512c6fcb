# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke: {}
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
# # 3.4 Linear regression from scratch

# %%
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    HyperParameters, Module, SyntheticRegressionData, Trainer, add_to_class)

d2l.use_style()

# %% tags=["export"]
class LinearRegressionScratch(Module):
    """Linear regression on plain tensors `w` (d, 1) and `b` (1,)."""

    def __init__(self, num_inputs, lr, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.w = torch.normal(0, sigma, (num_inputs, 1),
                              requires_grad=True)
        self.b = torch.zeros(1, requires_grad=True)

    def forward(self, X):
        return X @ self.w + self.b  # (n, d) @ (d, 1) + (1,) -> (n, 1)

    def loss(self, y_hat, y):
        return ((y_hat - y) ** 2 / 2).mean()

    def configure_optimizers(self):
        return SGD([self.w, self.b], self.lr)

# %% tags=["export"]
class SGD(HyperParameters):
    """Minibatch stochastic gradient descent with a fixed step size."""

    def __init__(self, params, lr):
        self.save_hyperparameters()

    def step(self):
        with torch.no_grad():
            for param in self.params:
                param -= self.lr * param.grad

    def zero_grad(self):
        for param in self.params:
            param.grad = None

# %% tags=["export"]
@add_to_class(Trainer)
def prepare_batch(self, batch):
    """Move the tensors of a batch to the device of the model."""
    return d2l.to_device(batch, self.device)

# %% tags=["export"]
@add_to_class(Trainer)
def fit_epoch(self):
    """One pass over the training batches, then over the validation."""
    self.model.train()
    for batch in self.train_dataloader:
        batch = self.prepare_batch(batch)
        self.num_examples = len(batch[0])
        loss = self.model.training_step(batch)
        self.optim.zero_grad()
        loss.backward()
        if self.gradient_clip_val > 0:
            self.clip_gradients(self.gradient_clip_val, self.model)
        self.optim.step()
        self.train_batch_idx += 1
    if self.val_dataloader is None:
        return
    self.model.eval()
    with torch.inference_mode():
        for batch in self.val_dataloader:
            batch = self.prepare_batch(batch)
            self.num_examples = len(batch[0])
            self.model.validation_step(batch)
            self.val_batch_idx += 1
