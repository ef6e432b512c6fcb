# ---
# jupyter:
#   d2l:
#     data: [sunspots, co2]
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
# # 9.1 Working with sequences

# %%
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    DataModule, LinearRegression, Trainer)

# %% tags=["parameters"]
num_gpus = 0  # 1: use an accelerator, if there is one

# %% tags=["export"]
class SineSeries(DataModule):
    """A noisy sine, cut into windows of `tau` values and the next one.

    The series is x_t = sin(0.01 t) + noise for t = 1, ..., T. Row i of
    `features` (T - tau, tau) holds tau values in the order of time, row i
    of `labels` (T - tau, 1) the one after them. The first `num_train` rows
    are for training, the others for validation.
    """

    def __init__(self, batch_size=16, T=1000, num_train=600, tau=4,
                 noise=0.2, generator=None):
        super().__init__()
        self.save_hyperparameters()
        self.time = torch.arange(1, T + 1, dtype=torch.float32)
        self.x = (torch.sin(0.01 * self.time)
                  + noise * torch.randn(T, generator=generator))
        self.features = self.x.unfold(0, tau, 1)[:-1]  # (T - tau, tau)
        self.labels = self.x[tau:, None]  # (T - tau, 1)

    def get_dataloader(self, train):
        n = self.num_train
        rows = slice(0, n) if train else slice(n, None)
        return self.get_tensorloader((self.features, self.labels), train,
                                     rows)

# %% tags=["export"]
def fit_ar_lstsq(x, tau):
    """Least-squares autoregression of order `tau` on the series x (T,).

    Returns the weights w (tau,), the oldest value's first, and the bias b,
    a scalar tensor: the forecast of x_t is
    w_1 x_{t - tau} + ... + w_tau x_{t - 1} + b.
    """
    windows = x.unfold(0, tau, 1)[:-1]  # (T - tau, tau)
    A = torch.cat((windows, torch.ones_like(windows[:, :1])), dim=1)
    solution = torch.linalg.lstsq(A, x[tau:, None]).solution[:, 0]
    return solution[:-1], solution[-1]

# %% tags=["export"]
def rollout(w, b, history, steps):
    """Feed forecasts back: `steps` values after `history`, (steps,).

    `w` (tau,) and `b` are those of `fit_ar_lstsq`; `history` holds at least
    tau values, of which the last tau are used.
    """
    tau = len(w)
    values = list(history[-tau:])
    for _ in range(steps):
        values.append(torch.stack(values[-tau:]) @ w + b)
    return torch.stack(values[tau:])
