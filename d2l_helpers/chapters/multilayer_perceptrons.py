"""Chapter 5, Multilayer perceptrons: what its sections teach and later ones use.

Generated from book/05-multilayer-perceptrons/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import copy
import d2l_helpers as d2l
import math
import numpy as np
import pandas as pd
import torch
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.linear_regression import kfold_indices
from torch import nn
from torch.autograd.graph import saved_tensors_hooks


# 5.1 Multilayer perceptrons
class Stack(nn.Module):
    """Networks of one architecture, evaluated together in one call.

    `X` of shape (n, ...) goes to every network; with `each=True`, network
    i gets X[i] of an X with shape (nets, n, ...). Returns (nets, n, ...).
    The networks themselves stay as they are: their parameters are copied.
    Dropout draws its own mask for each of them.
    """

    def __init__(self, nets):
        super().__init__()
        params, buffers = torch.func.stack_module_state(nets)
        if buffers:
            raise ValueError(f"the networks have buffers {list(buffers)}; "
                             "only parameters can be stacked.")
        self.names = list(params)
        self.params = nn.ParameterList(
            nn.Parameter(p, p.requires_grad) for p in params.values()
        )  # (nets, ...) each
        # the form of one network without numbers; in a list, since a
        # module as an attribute would be registered
        self.form = [copy.deepcopy(nets[0]).to("meta")]

    def forward(self, X, each=False):
        net = self.form[0].train(self.training)

        def call(params, X):  # of one network
            return torch.func.functional_call(net, params, X)

        return torch.vmap(call, in_dims=(0, 0 if each else None),
                          randomness="different")(
            dict(zip(self.names, self.params)), X)


# 5.1 Multilayer perceptrons
def train_stack(stack, X, y, batches, loss, optim):
    """One step of every network per batch; the last losses (nets,).

    A batch holds row numbers of X and y: (b,) for all networks, or
    (nets, b), for each its own. `loss(y_hat, y)` is that of one network.
    """
    for rows in batches:
        each = rows.dim() == 2
        losses = torch.vmap(loss, in_dims=(0, 0 if each else None))(
            stack(X[rows], each), y[rows])  # (nets,)
        optim.zero_grad()
        losses.sum().backward()
        optim.step()
    return losses.detach()


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


# 5.3 Forward propagation, backward propagation, and computational graphs
def saved_tensors(compute):
    """Tensors that autograd keeps when `compute()` runs forward.

    A list, in the order of saving. A tensor that two operators keep is
    listed twice, though it lies in memory once.
    """
    kept = []

    def pack(tensor):
        kept.append(tensor.detach())  # shares the memory
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        compute()
    return kept


def distinct_elements(tensors, ignore=()):
    """Elements of `tensors` in memory, each storage counted once.

    Storages of the tensors in `ignore`, such as parameters, which exist
    anyway, do not count.
    """
    skip = {t.untyped_storage().data_ptr() for t in ignore}
    sizes = {}
    for t in tensors:  # a view keeps its whole storage alive
        storage = t.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes() // t.element_size()
    return sum(n for address, n in sizes.items() if address not in skip)


# 5.4 Numerical stability and initialization
def init_linear(layer, scheme, generator=None):
    """Initialize an nn.Linear in place and return it.

    `scheme` is "default", "xavier" (uniform), "he" (normal),
    "orthogonal", or a number: the standard deviation of normal weights.
    Biases are 0, except for "default".
    """
    W, b = layer.weight, layer.bias  # (n_out, n_in), (n_out,) or None
    n_out, n_in = W.shape
    with torch.no_grad():
        if b is not None:
            b.zero_()
        if scheme == "default":
            bound = n_in**-0.5
            W.uniform_(-bound, bound, generator=generator)
            if b is not None:
                b.uniform_(-bound, bound, generator=generator)
        elif scheme == "xavier":
            a = math.sqrt(6 / (n_in + n_out))
            W.uniform_(-a, a, generator=generator)
        elif scheme == "he":
            W.normal_(0, math.sqrt(2 / n_in), generator=generator)
        elif scheme == "orthogonal":
            nn.init.orthogonal_(W, generator=generator)
        elif isinstance(scheme, (int, float)):
            W.normal_(0, scheme, generator=generator)
        else:
            raise ValueError(f"unknown scheme {scheme!r}; use 'default', "
                             "'xavier', 'he', 'orthogonal' or a number.")
    return layer


# 5.4 Numerical stability and initialization
def signal_stats(act, scheme, depth=50, width=256, batch=100, seed=0,
                 dtype=torch.float64):
    """Size and spread of activations behind each layer, both (depth,).

    `size` is the root mean square over units and normal random inputs;
    `spread` is the standard deviation across inputs, root mean square
    over units. `scheme` is that of `init_linear`.
    """
    generator = torch.Generator().manual_seed(seed)
    H = torch.randn(batch, width, generator=generator, dtype=dtype)
    layer = nn.Linear(width, width, dtype=dtype)
    size, spread = [], []
    with torch.no_grad():
        for _ in range(depth):
            H = act(init_linear(layer, scheme, generator)(H))
            size.append(H.square().mean().sqrt())
            spread.append(H.var(dim=0).mean().sqrt())
    return torch.stack(size), torch.stack(spread)


# 5.5 Generalization in deep learning
class EarlyStopping:
    """Stop when a value has not fallen for `patience` epochs in a row.

    Call `step` once per epoch with a value to be minimized, such as the
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


# 5.6 Dropout
def dropout_layer(X, p):
    """Set each entry of X to 0 with probability p, rescale the others.

    X has any shape; dividing the kept entries by 1 - p leaves the
    expectation of every entry as it is. For training only.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"the dropout probability is {p}; "
                         "it must lie between 0 and 1.")
    if p == 1:
        return X * 0
    keep = torch.rand_like(X, dtype=torch.float32) >= p
    return X * keep / (1 - p)


# 5.6 Dropout
class DropoutMLPScratch(Classifier):
    """Two hidden layers, each followed by dropout; logits (n, q)."""

    def __init__(self, num_outputs, num_hiddens_1, num_hiddens_2,
                 dropout_1, dropout_2, lr):
        super().__init__()
        self.save_hyperparameters()
        self.lin1 = nn.LazyLinear(num_hiddens_1)
        self.lin2 = nn.LazyLinear(num_hiddens_2)
        self.lin3 = nn.LazyLinear(num_outputs)

    def forward(self, X):
        H = torch.relu(self.lin1(X.flatten(1)))  # (n, num_hiddens_1)
        if self.training:
            H = dropout_layer(H, self.dropout_1)
        H = torch.relu(self.lin2(H))  # (n, num_hiddens_2)
        if self.training:
            H = dropout_layer(H, self.dropout_2)
        return self.lin3(H)  # (n, q)


# 5.6 Dropout
class DropoutMLP(Classifier):
    """Two hidden layers, each followed by dropout; logits (n, q)."""

    def __init__(self, num_outputs, num_hiddens_1, num_hiddens_2,
                 dropout_1, dropout_2, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.LazyLinear(num_hiddens_1), nn.ReLU(), nn.Dropout(dropout_1),
            nn.LazyLinear(num_hiddens_2), nn.ReLU(), nn.Dropout(dropout_2),
            nn.LazyLinear(num_outputs))


# 5.7 Predicting house prices on Kaggle
def read_table(path):
    """A CSV file as a data frame; only "NA" and "" are missing."""
    return pd.read_csv(path, keep_default_na=False, na_values=["NA", ""])


class KaggleHouse(DataModule):
    """The two tables of the house price competition.

    `raw_train` (1460, 81) and `raw_test` (1459, 80) are data frames as
    read; `source` says whether they are "real". `split` chooses the rows
    for training and validation that the loaders then serve.
    """

    def __init__(self, batch_size=64, generator=None):
        super().__init__()
        self.save_hyperparameters()
        data = d2l.fetch("kaggle-house")
        self.source = data.source
        self.raw_train, self.raw_test = (
            read_table(data.files[f"kaggle_house_pred_{part}.csv"])
            for part in ("train", "test"))

    @property
    def features(self):
        """The columns of the training table that may predict."""
        return self.raw_train.drop(columns=["Id", "SalePrice"])

    @property
    def log_price(self):
        """Natural logarithms of the prices, (1460,) in float64."""
        return torch.from_numpy(np.log(
            self.raw_train["SalePrice"].to_numpy(dtype=np.float64)))


# 5.7 Predicting house prices on Kaggle
def rmsle(pred_log, log_y):
    """Root mean square of the errors of log prices.

    Both have shape (..., n); the result has shape (...).
    """
    return ((pred_log - log_y) ** 2).mean(dim=-1).sqrt()


# 5.7 Predicting house prices on Kaggle
class TabularPreprocessor:
    """Data frame -> float32 tensor, by what the rows given to `fit` say.

    Numbers: gaps filled by the mean, then mean 0 and variance 1. Words,
    and the columns in `categorical_extra`: one indicator for each value
    seen by `fit` and one for "missing"; an unseen value gives zeros. With
    `log1p_skewed`, numeric columns that are nonnegative and of skewness
    above 1 go through log(1 + x) first.
    """

    def __init__(self, log1p_skewed=False,
                 categorical_extra=("MSSubClass",)):
        self.log1p_skewed = log1p_skewed
        self.categorical_extra = categorical_extra

    def fit(self, df):
        numbers = df.select_dtypes("number").drop(
            columns=list(self.categorical_extra), errors="ignore")
        bent = (numbers.min() >= 0) & (numbers.skew() > 1)
        self.skewed = list(numbers.columns[bent & self.log1p_skewed])
        self.numeric = list(numbers)
        self.levels = {name: sorted(df[name].dropna().unique())
                       for name in df if name not in self.numeric}
        values = self._numbers(df)
        self.mean = values.mean().fillna(0)  # of the values that exist
        std = values.fillna(self.mean).std(ddof=0)
        self.std = std.where(std > 0, 1.0)  # a constant column stays 0
        self.names = self.numeric + [
            f"{name}_{level}" for name, levels in self.levels.items()
            for level in [*levels, "missing"]]
        return self


# 5.7 Predicting house prices on Kaggle
@add_to_class(TabularPreprocessor)
def _numbers(self, df):
    """The numeric columns as floats, some of them logarithmic."""
    values = df[self.numeric].astype("float64")
    values[self.skewed] = np.log1p(values[self.skewed].clip(lower=0))
    return values


@add_to_class(TabularPreprocessor)
def transform(self, df):
    """A tensor (rows of `df`, columns in `self.names`) without gaps."""
    values = self._numbers(df).fillna(self.mean)
    parts = [((values - self.mean) / self.std).to_numpy()]
    for name, levels in self.levels.items():
        column = df[name].to_numpy(dtype=object)[:, None]  # (n, 1)
        parts += [column == np.array(levels, dtype=object),  # (n, levels)
                  df[[name]].isna().to_numpy()]
    return torch.from_numpy(np.hstack(parts).astype(np.float32))


# 5.7 Predicting house prices on Kaggle
def fold_indices(n, k, seed=None):
    """k pairs (train_idx, val_idx) that cover range(n).

    Contiguous parts, or random ones if there is a seed; sizes differ by
    at most one, and no row is left out.
    """
    if seed is not None:
        rng = torch.Generator().manual_seed(seed)
        return kfold_indices(n, k, rng)
    parts = torch.arange(n).tensor_split(k)
    return [(torch.cat(parts[:i] + parts[i + 1:]), parts[i])
            for i in range(k)]


def k_fold(make_model, df, y, k=5, seed=None):
    """Cross-validate models with fit(df, y) and predict(df).

    `df` has n rows and `y` shape (n,). Returns the RMSE of each fold
    (k,), the out-of-fold predictions (n,), and the k fitted models.
    """
    scores, models, oof = [], [], torch.empty_like(y)
    for train_idx, val_idx in fold_indices(len(df), k, seed):
        model = make_model().fit(df.iloc[train_idx.numpy()], y[train_idx])
        oof[val_idx] = model.predict(df.iloc[val_idx.numpy()])
        scores.append(rmsle(oof[val_idx], y[val_idx]))
        models.append(model)
    return torch.stack(scores), oof, models


# 5.7 Predicting house prices on Kaggle
@add_to_class(KaggleHouse)
def split(self, prep, train_idx, val_idx):
    """Serve these rows, encoded by `prep` fitted on the training rows."""
    part = self.features.iloc[train_idx.numpy()]
    labels = self.log_price.float()[:, None]  # (1460, 1)
    self.train = (prep.fit(part).transform(part), labels[train_idx])
    val = self.features.iloc[val_idx.numpy()]
    self.val = (prep.transform(val), labels[val_idx])


@add_to_class(KaggleHouse)
def get_dataloader(self, train):
    """Batches of encoded houses (b, p) and log prices (b, 1)."""
    return self.get_tensorloader(self.train if train else self.val, train)
