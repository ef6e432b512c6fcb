"""Chapter 3, Linear neural networks for regression: what its sections teach and later ones use.

Generated from book/03-linear-regression/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import inspect
import itertools
import math
import matplotlib.pyplot as plt
import os
import sys
import time
import torch
from torch import nn


# 3.1 Linear regression
def fit_normal_equations(X, y):
    """Least squares by the normal equations, with a bias.

    `X` has shape (n, d) without a column of ones and `y` (n, 1); returns
    (d + 1, 1), the bias last. The columns must be independent.
    """
    A = torch.cat((X, torch.ones_like(X[:, :1])), dim=1)  # (n, d + 1)
    return torch.linalg.solve(A.mT @ A, A.mT @ y)


# 3.1 Linear regression
def sgd_step(w, b, X, y, lr):
    """One minibatch step on half the mean squared error.

    `w` has shape (d, 1), `b` (1,), `X` (m, d), `y` (m, 1). Returns the
    new `w` and `b`; the old ones stay unchanged.
    """
    error = X @ w + b - y  # (m, 1)
    grad_w = X.mT @ error / len(X)  # (d, m) @ (m, 1) -> (d, 1)
    grad_b = error.mean(dim=0)  # (1,)
    return w - lr * grad_w, b - lr * grad_b


# 3.1 Linear regression
class Timer:
    """Record running times in seconds.

    `start` begins, `stop` returns the seconds since then and keeps them
    in `times`; `sum`, `avg` and `cumsum` summarize them.
    """

    def __init__(self):
        self.times = []
        self.start()

    def start(self):
        self.begin = time.perf_counter()

    def stop(self):
        self.times.append(time.perf_counter() - self.begin)
        return self.times[-1]

    def avg(self):
        return self.sum() / len(self.times)

    def sum(self):
        return sum(self.times)

    def cumsum(self):
        return list(itertools.accumulate(self.times))


# 3.1 Linear regression
def normal_pdf(x, mu, sigma):
    """Normal density at `x`, a tensor of any shape.

    `sigma` is the standard deviation, not the variance.
    """
    scaled = (x - mu) / sigma
    return torch.exp(-scaled**2 / 2) / (math.sqrt(2 * math.pi) * sigma)


# 3.2 Object-oriented design for implementation
def add_to_class(cls):
    """Decorator: the function below becomes a method of `cls`.

    Instances that exist already get it too. The function is returned,
    and its name still refers to it.
    """

    def register(function):
        setattr(cls, function.__name__, function)
        return function

    return register


# 3.2 Object-oriented design for implementation
class HyperParameters:
    """Keeps the arguments of a constructor as attributes."""

    def save_hyperparameters(self, ignore=()):
        """Store the caller's arguments, except those named in `ignore`.

        Each becomes an attribute and an entry of the dict `hparams`;
        a base class and a subclass may both call it. Call it directly
        in `__init__`, since the arguments of the caller are what it
        stores.
        """
        caller = inspect.getargvalues(inspect.currentframe().f_back)
        new = {name: caller.locals[name] for name in caller.args[1:]
               if name not in ignore}
        self.hparams = {**getattr(self, "hparams", {}), **new}
        for name, value in new.items():
            setattr(self, name, value)


# 3.2 Object-oriented design for implementation
class Module(nn.Module, HyperParameters):
    """A model with its loss, its steps and its optimizer.

    A subclass defines `loss` and `configure_optimizers`, and either
    `forward` or an attribute `net` that holds the layers.
    """

    def __init__(self, plot_train_per_epoch=2, plot_valid_per_epoch=1):
        super().__init__()
        self.save_hyperparameters()
        self.board = ProgressBoard()

    def forward(self, X):
        """Predictions for inputs X of shape (examples, ...)."""
        if not hasattr(self, "net"):
            raise NotImplementedError("define forward, or set self.net")
        return self.net(X)

    def loss(self, y_hat, y):
        """Mean loss of a batch, a scalar tensor."""
        raise NotImplementedError("define loss(y_hat, y)")

    def training_step(self, batch):
        loss = self.loss(self(*batch[:-1]), batch[-1])
        self.plot("loss", loss, train=True)
        return loss

    def validation_step(self, batch):
        loss = self.loss(self(*batch[:-1]), batch[-1])
        self.plot("loss", loss, train=False)

    def configure_optimizers(self):
        """The optimizer of this model's parameters."""
        raise NotImplementedError("define configure_optimizers()")


# 3.2 Object-oriented design for implementation
@add_to_class(Module)
def plot(self, key, value, train):
    """Send a value of this batch to the board and to the history."""
    trainer, board = getattr(self, "trainer", None), self.board
    if trainer is None:
        raise RuntimeError("this model has no trainer, which must count "
                           "its batches; run the step by Trainer.fit")
    board.xlabel = "epoch"
    if train:
        x = trainer.train_batch_idx / trainer.num_train_batches
        every_n = trainer.num_train_batches // self.plot_train_per_epoch
    else:
        x = trainer.epoch + 1
        every_n = trainer.num_val_batches // self.plot_valid_per_epoch
    label = ("train_" if train else "val_") + key
    board.draw(x, value, label, every_n)
    trainer.record(label, value)


# 3.2 Object-oriented design for implementation
class DataModule(HyperParameters):
    """Training and validation data as loaders of minibatches.

    A subclass defines `get_dataloader(train)`. For data without a
    validation part it returns None where `train` is False.
    """

    def __init__(self, root="data", num_workers=0):
        self.save_hyperparameters()

    def get_dataloader(self, train):
        raise NotImplementedError("define get_dataloader(train)")

    def train_dataloader(self):
        return self.get_dataloader(train=True)

    def val_dataloader(self):
        return self.get_dataloader(train=False)


# 3.2 Object-oriented design for implementation
class Trainer(HyperParameters):
    """Fits a model to data.

    `history` maps labels such as "train_loss" to a list with one mean
    over the examples for each epoch of the last `fit`.
    """

    def __init__(self, max_epochs, num_gpus=0, gradient_clip_val=0):
        self.save_hyperparameters()
        self.device = (d2l.try_device(quiet=True) if num_gpus > 0
                       else torch.device("cpu"))
        self.reset()

    def prepare_data(self, data):
        self.train_dataloader = data.train_dataloader()
        self.val_dataloader = data.val_dataloader()
        self.num_train_batches = len(self.train_dataloader)
        self.num_val_batches = (len(self.val_dataloader)
                                if self.val_dataloader is not None else 0)

    def prepare_model(self, model):
        model.trainer = self
        model.board.xlim = [0, self.max_epochs]
        self.model = model.to(self.device)

    def fit(self, model, data):
        self.prepare_data(data)
        self.prepare_model(model)
        self.optim = model.configure_optimizers()
        self.reset()
        model.board.clear()
        for self.epoch in range(self.max_epochs):
            self.fit_epoch()
            self.close_epoch()
        model.board.show()

    def fit_epoch(self):
        raise NotImplementedError("Section 3.4 defines fit_epoch()")


# 3.2 Object-oriented design for implementation
@add_to_class(Trainer)
def reset(self):
    """Forget the last run: history, sums and counters."""
    self.history, self.sums, self.counts = {}, {}, {}
    self.epoch = self.train_batch_idx = self.val_batch_idx = 0
    self.num_examples = 1

@add_to_class(Trainer)
def record(self, label, value):
    """Add a batch mean, weighted by the examples of the batch."""
    n = self.num_examples
    self.sums[label] = self.sums.get(label, 0.0) + _value(value) * n
    self.counts[label] = self.counts.get(label, 0) + n

@add_to_class(Trainer)
def close_epoch(self):
    """Append the means of the epoch to the history, then start anew."""
    for label, total in self.sums.items():
        mean = float(total) / self.counts[label]
        self.history.setdefault(label, []).append(mean)
    self.sums, self.counts = {}, {}


# 3.2 Object-oriented design for implementation
class ProgressBoard(HyperParameters):
    """Curves that grow while a model trains.

    `draw` collects points; `data` maps each label to its list of points
    `(x, y)`. A live notebook redraws at most once a second. With the
    environment variable D2L_HEADLESS=1, and in a script, only `show`
    draws, once. With `display=False` nothing is ever drawn.
    """

    def __init__(self, xlabel=None, ylabel=None, xlim=None, ylim=None,
                 xscale="linear", yscale="linear",
                 ls=("-", "--", "-.", ":"),
                 colors=("C0", "C1", "C2", "C3"), fig=None, axes=None,
                 figsize=(3.5, 2.5), display=True):
        self.save_hyperparameters()
        self.lines = {}
        self.clear()

    def clear(self):
        """Forget all points; the next picture is a new one."""
        if self.hparams["fig"] or self.hparams["axes"]:
            for line in self.lines.values():
                line.remove()
        else:
            self.fig = self.axes = None
        self.raw, self.data, self.lines = {}, {}, {}
        self.handle, self.last_drawn = None, time.monotonic()

    def draw(self, x, y, label, every_n=1):
        """Add a point; every `every_n` points are averaged into one."""
        waiting = self.raw.setdefault(label, [])
        waiting.append((_value(x), _value(y)))
        if len(waiting) < every_n:
            return
        xs, ys = zip(*waiting)
        waiting.clear()
        self.data.setdefault(label, []).append((_mean(xs), _mean(ys)))
        if self.is_live() and time.monotonic() - self.last_drawn > 1:
            self.render()


# 3.2 Object-oriented design for implementation
def _value(number):
    """A number, or a scalar tensor without its graph."""
    return number.detach() if isinstance(number, torch.Tensor) else number

def _mean(values):
    """Mean of numbers or of scalar tensors, as a float."""
    if isinstance(values[0], torch.Tensor):
        return torch.stack(values).cpu().double().mean().item()
    return float(sum(values) / len(values))


# 3.2 Object-oriented design for implementation
@add_to_class(ProgressBoard)
def is_live(self):
    """Whether pictures appear while points arrive."""
    return (self.display and _in_notebook()
            and os.environ.get("D2L_HEADLESS") != "1")

def _in_notebook():
    """True in a Jupyter kernel, False in a script or a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


# 3.2 Object-oriented design for implementation
@add_to_class(ProgressBoard)
def render(self, alt=None):
    """Bring the figure up to date and, in a notebook, display it."""
    if self.axes is None:
        if self.fig is None:
            self.fig = plt.figure(figsize=self.figsize)
            plt.close(self.fig)  # pyplot need not remember it
        self.axes = self.fig.add_subplot()
    self.fig = self.axes.figure
    self.update_lines()
    d2l.describe(self.fig, alt or self.summary())
    if _in_notebook():
        plt.close(self.fig)  # or it appears again below the cell
        if self.handle is None:
            show = sys.modules["IPython.display"].display
            self.handle = show(self.fig, display_id=True)
        else:
            self.handle.update(self.fig)
    self.last_drawn = time.monotonic()


# 3.2 Object-oriented design for implementation
@add_to_class(ProgressBoard)
def update_lines(self):
    """Hand each line its points; create those that are new."""
    ax = self.axes
    for label, points in self.data.items():
        if label not in self.lines:
            i = len(self.lines)
            self.lines[label], = ax.plot(
                [], [], ls=self.ls[i % len(self.ls)], label=label,
                color=self.colors[i % len(self.colors)])
            ax.legend()
        line = self.lines[label]
        line.set_data(*zip(*points))
        line.set_marker("o" if len(points) == 1 else "")
    ax.set(xlabel=self.xlabel, ylabel=self.ylabel,
           xscale=self.xscale, yscale=self.yscale)
    ax.relim()
    ax.autoscale_view()
    if self.xlim is not None:
        ax.set_xlim(self.xlim)
    if self.ylim is not None:
        ax.set_ylim(self.ylim)


# 3.2 Object-oriented design for implementation
@add_to_class(ProgressBoard)
def summary(self):
    """Alternative text: each curve with its first and last value."""
    curves = [f"{label} goes from {points[0][1]:.3g} at {points[0][0]:.3g}"
              f" to {points[-1][1]:.3g} at {points[-1][0]:.3g}"
              for label, points in self.data.items()]
    return f"Curves over {self.xlabel or 'x'}: {'; '.join(curves)}."

@add_to_class(ProgressBoard)
def show(self, alt=None):
    """Draw the final state, with an alternative text for the image."""
    if self.display and self.data:
        self.render(alt)
        self.handle = None  # whatever is drawn next is a new picture


# 3.3 Synthetic regression data
class SyntheticRegressionData(DataModule):
    """Labels y = Xw + b + noise with known w and b."""

    def __init__(self, w, b, noise=0.01, num_train=1000, num_val=1000,
                 batch_size=32, generator=None):
        super().__init__()
        self.save_hyperparameters()
        n = num_train + num_val
        self.X = torch.randn(n, len(w), generator=generator)
        eps = noise * torch.randn(n, 1, generator=generator)
        self.y = self.X @ w.reshape(-1, 1) + b + eps  # (n, 1)


# 3.3 Synthetic regression data
class BatchIterator:
    """Minibatches of (X, y); every `for` loop over it is one epoch."""

    def __init__(self, X, y, batch_size, shuffle=False, generator=None):
        self.X, self.y, self.batch_size = X, y, batch_size
        self.shuffle, self.generator = shuffle, generator

    def __len__(self):
        return math.ceil(len(self.X) / self.batch_size)

    def __iter__(self):
        n = len(self.X)
        order = (torch.randperm(n, generator=self.generator)
                 if self.shuffle else torch.arange(n))
        for index in order.split(self.batch_size):
            yield self.X[index], self.y[index]


# 3.3 Synthetic regression data
@add_to_class(DataModule)
def get_tensorloader(self, tensors, train, indices=slice(0, None)):
    """Minibatches of `tensors[indices]`; shuffled if `train`."""
    tensors = tuple(tensor[indices] for tensor in tensors)
    return d2l.BatchLoader(tensors, self.batch_size, shuffle=train,
                           generator=getattr(self, "generator", None))


# 3.3 Synthetic regression data
@add_to_class(SyntheticRegressionData)
def get_dataloader(self, train):
    """The training rows, shuffled, or the validation rows in order."""
    n = self.num_train
    indices = slice(0, n) if train else slice(n, None)
    return self.get_tensorloader((self.X, self.y), train, indices)


# 3.4 Linear regression from scratch
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


# 3.4 Linear regression from scratch
@add_to_class(LinearRegressionScratch)
def loss(self, y_hat, y):
    """Half the squared error, averaged over a batch of columns (n, 1)."""
    if y_hat.shape != y.shape:
        raise ValueError(f"predictions {tuple(y_hat.shape)} and labels "
                         f"{tuple(y.shape)} differ in shape; "
                         "make the labels a column: y.reshape(-1, 1)")
    return ((y_hat - y) ** 2 / 2).mean()


# 3.4 Linear regression from scratch
class SGD(HyperParameters):
    """Minibatch stochastic gradient descent with a fixed step size."""

    def __init__(self, params, lr):
        self.save_hyperparameters()
        self.params = list(params)  # a generator would last for one step

    def step(self):
        with torch.no_grad():
            for param in self.params:
                if param.grad is not None:
                    param -= self.lr * param.grad

    def zero_grad(self):
        for param in self.params:
            param.grad = None


# 3.4 Linear regression from scratch
@add_to_class(LinearRegressionScratch)
def configure_optimizers(self):
    return SGD([self.w, self.b], self.lr)


# 3.4 Linear regression from scratch
@add_to_class(Trainer)
def prepare_batch(self, batch):
    """Move the tensors of a batch to the device of the trainer."""
    return d2l.to_device(batch, self.device)


# 3.4 Linear regression from scratch
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


# 3.4 Linear regression from scratch
@add_to_class(Trainer)
def clip_gradients(self, max_norm, model):
    """Limit the length of the gradient; Section 9.5 replaces this."""
    raise NotImplementedError("Section 9.5 defines clip_gradients(); "
                              "until then use gradient_clip_val=0")


# 3.5 Concise implementation of linear regression
class LinearRegression(Module):
    """Linear regression with `nn.Linear` and the mean squared error.

    `lr` is the learning rate. With `num_inputs=None` the layer takes its
    number of inputs from the first batch, and is initialized right after.
    """

    def __init__(self, lr, num_inputs=None):
        super().__init__()
        self.save_hyperparameters()
        if num_inputs is None:
            self.net = nn.LazyLinear(1)
        else:
            self.net = nn.Linear(num_inputs, 1)
            self.initialize()

    def initialize(self):
        nn.init.normal_(self.net.weight, mean=0, std=0.01)
        nn.init.zeros_(self.net.bias)

    def forward(self, X):
        """Predictions (n, 1) for features X of shape (n, d)."""
        if isinstance(self.net.weight, nn.UninitializedParameter):
            with torch.no_grad():
                self.net(X)  # creates the parameters
            self.initialize()
        return self.net(X)

    def loss(self, y_hat, y):
        return nn.MSELoss()(y_hat, y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)

    def get_w_b(self):
        """Weights (1, d) and bias (1,), detached from the graph."""
        return self.net.weight.detach(), self.net.bias.detach()


# 3.6 Generalization
def legendre_features(x, degree):
    """Legendre polynomials P_0..P_degree as features.

    `x` has shape (..., n) with values in [-1, 1]; returns
    (..., n, degree + 1).
    """
    columns = [torch.ones_like(x), x]
    for k in range(1, degree):
        columns.append(((2 * k + 1) * x * columns[k]
                        - k * columns[k - 1]) / (k + 1))
    return torch.stack(columns[:degree + 1], dim=-1)


# 3.6 Generalization
def kfold_indices(n, k, generator=None):
    """Random folds for k-fold cross-validation of n examples.

    Returns k pairs (train_idx, val_idx) of index tensors. The k parts
    val_idx are disjoint, cover range(n), and differ in size by at most
    one. Without `generator` the global one draws.
    """
    if not 2 <= k <= n:
        raise ValueError(f"k = {k} folds of n = {n} examples; "
                         f"choose k from 2 to n.")
    parts = torch.randperm(n, generator=generator).tensor_split(k)
    return [(torch.cat(parts[:i] + parts[i + 1:]), parts[i])
            for i in range(k)]


def cross_validate(fit, score, X, y, k, generator=None):
    """Validation scores of k-fold cross-validation, shape (k, ...).

    `fit(X, y)` returns a model, and `score(model, X, y)` a number or a
    tensor. Everything that is estimated from data belongs in `fit`,
    preprocessing included. The mean over dimension 0 is the estimate.
    """
    folds = kfold_indices(len(X), k, generator)
    return torch.stack([torch.as_tensor(score(fit(X[t], y[t]), X[v], y[v]))
                        for t, v in folds])


# 3.7 Weight decay
class HighDimData(DataModule):
    """y = 0.05 + 0.01 * (sum of the inputs) + noise; X is (n, d)."""

    def __init__(self, num_train, num_val, num_inputs, batch_size,
                 noise=0.01, generator=None):
        super().__init__()
        self.save_hyperparameters()
        n = num_train + num_val
        self.X = torch.randn(n, num_inputs, generator=generator)
        eps = noise * torch.randn(n, 1, generator=generator)
        w, b = torch.full((num_inputs, 1), 0.01), 0.05
        self.y = self.X @ w + b + eps  # (n, 1)

    def get_dataloader(self, train):
        n = self.num_train
        rows = slice(0, n) if train else slice(n, None)
        return self.get_tensorloader((self.X, self.y), train, rows)


# 3.7 Weight decay
def l2_penalty(w):
    """Half the sum of squares of a tensor of any shape, a scalar."""
    return (w ** 2).sum() / 2


# 3.7 Weight decay
class WeightDecayScratch(LinearRegressionScratch):
    """Linear regression whose training loss adds lambd * l2_penalty(w)."""

    def __init__(self, num_inputs, lambd, lr, sigma=0.01):
        super().__init__(num_inputs, lr, sigma)
        self.save_hyperparameters()

    def loss(self, y_hat, y):
        return super().loss(y_hat, y) + self.lambd * l2_penalty(self.w)

    def validation_step(self, batch):
        y_hat = self(*batch[:-1])
        self.plot("loss", super().loss(y_hat, batch[-1]), train=False)


# 3.7 Weight decay
class WeightDecay(LinearRegression):
    """Linear regression whose optimizer decays the weights by wd.

    The loss is half the mean squared error, and `wd` means the same
    as `lambd` of `WeightDecayScratch`. The bias does not decay.
    """

    def __init__(self, wd, lr, num_inputs):
        super().__init__(lr, num_inputs)
        self.save_hyperparameters()

    def loss(self, y_hat, y):
        return super().loss(y_hat, y) / 2

    def configure_optimizers(self):
        return torch.optim.SGD([
            {"params": [self.net.weight], "weight_decay": self.wd},
            {"params": [self.net.bias], "weight_decay": 0}], lr=self.lr)


# 3.7 Weight decay
def ridge(X, y, lam):
    """Minimizer of mean((X @ w - y)**2) / 2 + lam / 2 * sum(w**2).

    X (n, d), y (n, 1) -> w (d, 1); leading batch dimensions are kept.
    There is no bias: centre X and y first. With lam = 0 the columns of
    X must be linearly independent.
    """
    n, d = X.shape[-2:]
    eye = torch.eye(d, dtype=X.dtype, device=X.device)
    return torch.linalg.solve(X.mT @ X + n * lam * eye, X.mT @ y)
