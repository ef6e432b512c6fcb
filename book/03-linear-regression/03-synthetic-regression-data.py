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
# # 3.3 Synthetic regression data

# %%
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import DataModule, add_to_class

# %% tags=["export"]
@add_to_class(DataModule)
def get_tensorloader(self, tensors, train, indices=slice(0, None)):
    """Minibatches of `tensors[indices]`; shuffled if `train`."""
    tensors = tuple(tensor[indices] for tensor in tensors)
    return d2l.BatchLoader(tensors, self.batch_size, shuffle=train,
                           generator=getattr(self, "generator", None))

# %% tags=["export"]
class SyntheticRegressionData(DataModule):
    """Labels y = Xw + b + noise with known w and b."""

    def __init__(self, w, b, noise=0.01, num_train=1000, num_val=1000,
                 batch_size=32, generator=None):
        super().__init__()
        self.save_hyperparameters()
        n = num_train + num_val
        self.X = torch.randn(n, len(w), generator=generator)
        eps = noise * torch.randn(n, 1, generator=generator)
        self.y = self.X @ w.reshape(-1, 1) + b + eps

    def get_dataloader(self, train):
        n = self.num_train
        indices = slice(0, n) if train else slice(n, None)
        return self.get_tensorloader((self.X, self.y), train, indices)
