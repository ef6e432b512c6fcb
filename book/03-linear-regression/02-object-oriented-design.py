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
# # 3.2 Object-oriented design for implementation
#
# Training code mixes three things that have little to do with each other: where the data come from, what the model computes, and how the parameters are improved.
# How do we write it so that one of the three can change while the other two stay as they are?
# This section builds the few classes that carry all training code of this book, and shows their complete source.
#
# **You will**
#
# - split a training program into data, model and loop, and say which class owns which decision;
# - add a method to a class that already has instances;
# - read the source of the `Trainer` and say what it calls, and in which order;
# - recognize six mistakes of Python and PyTorch that are common in training code.
#
# **Cost**: a few seconds on a CPU, no download, no use of a GPU.

# %%
import copy
import csv
import inspect
import io
import math
import os
import pickle
import sys
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Why classes
#
# Suppose that a project has 3 data sets, 4 models and 2 ways of training.
# Written as scripts these are $3 \cdot 4 \cdot 2 = 24$ programs, which share most of their lines, and a mistake found in one has to be corrected in all.
# Written as parts that fit together they are $3 + 4 + 2 = 9$ classes.
#
# The parts fit together if each keeps to its own questions:
#
# - a `DataModule` knows the examples and serves them as minibatches;
# - a `Module` knows the parameters, the prediction and the loss, and which optimizer suits it;
# - a `Trainer` knows the loop: how many epochs, on which device, in which order.
#
# The model belongs together with its loss because both speak about the same output: a loss for class scores is useless for a model that predicts a price.
# The loop, by contrast, is the same for both.
#
# ![Class diagram. Trainer stands in the middle; it gets loaders from DataModule and calls the steps of Module. Module draws on ProgressBoard and is also a subclass of nn.Module. All inherit from HyperParameters. SyntheticRegressionData extends DataModule, LinearRegressionScratch and LinearRegression extend Module.](img/class-diagram.svg)

# %% [markdown]
# **Figure 3.2.1.** The five classes of this section (solid boxes), the class that they borrow from PyTorch, and the classes that later sections of the chapter derive from them (dashed boxes).
# A hollow triangle points to the base class.

# %% [markdown]
# ## Methods that are added later
#
# A class in a notebook has a practical problem: its definition must stand in one cell, and a cell of two hundred lines explains nothing.
# This book therefore defines a class with its first methods and adds the others where they are explained, sometimes a section later.
# Python allows it, because a method is an attribute of the class, and instances look their methods up at the moment of the call.
# A *decorator* is a function that receives the function defined below it and returns what the name will refer to:

# %% tags=["export"]
def add_to_class(cls):
    """Decorator: the function below becomes a method of `cls`.

    Instances that exist already get it too. The function is returned,
    and its name still refers to it.
    """

    def register(function):
        setattr(cls, function.__name__, function)
        return function

    return register

# %% [markdown]
# The instance `robot` is older than the method that it uses here:

# %%
class Robot:
    def __init__(self, name):
        self.name = name

robot = Robot("R2")

@add_to_class(Robot)
def greet(self):
    return f"I am {self.name}."

print(robot.greet())

# %%
# check 3.2-C1: an older instance has the method, the name still works
assert robot.greet() == "I am R2."
assert callable(greet) and greet(robot) == "I am R2."
assert Robot.greet is greet

# %% [markdown]
# The line `return function` is easy to forget, and nothing complains.
# But the name below a decorator is bound to what the decorator returns.
# Without the line that is `None`, and what the name meant before is lost:

# %%
def forgetful(cls):
    def register(function):
        setattr(cls, function.__name__, function)
    return register  # `register` itself returns nothing

def area(width, height):
    return width * height

@forgetful(Robot)
def area(self):
    return 2.0

print("the method returns", robot.area(), "and the name is", area)
assert area is None

# %% [markdown]
# ## Constructor arguments as attributes
#
# Constructors are full of lines such as `self.lr = lr`.
# `save_hyperparameters` writes them for us.
# It looks at the *frame* of its caller, which is the record that Python keeps of a running function, and finds there the names of the arguments and their present values.
# It also collects them in a dictionary `hparams`, by which a run can be labelled or repeated.

# %% tags=["export"]
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

# %%
# check 3.2-C2: arguments become attributes, except the ignored one
class Recipe(HyperParameters):
    def __init__(self, a=1, b=2, c=3):
        self.save_hyperparameters(ignore=["c"])

recipe = Recipe()
assert recipe.a == 1 and recipe.b == 2 and not hasattr(recipe, "c")
assert recipe.hparams == {"a": 1, "b": 2}

# %%
# check 3.2-C3: base class and subclass both save, hparams is the union
class LongRecipe(Recipe):
    def __init__(self, d, b=20):
        super().__init__(b=b)
        self.save_hyperparameters()

long = LongRecipe(d=4)
assert long.hparams == {"a": 1, "b": 20, "d": 4}
assert (long.a, long.b, long.d) == (1, 20, 4)

# %% [markdown]
# The default of `ignore` is the empty tuple, and that is deliberate.
# Python evaluates a default once, when the function is defined, not at each call.
# A *mutable default* such as `[]` is thus one list that all calls share:

# %%
def remember(value, seen=[]):
    seen.append(value)
    return seen

def remember_safely(value, seen=()):
    return [*seen, value]

print(remember(1), remember_safely(1))
print(remember(2), remember_safely(2))
assert remember(3) == [1, 2, 3] and remember_safely(3) == [3]

# %% [markdown]
# ## Module: a model with its loss
#
# `Module` is a subclass of `nn.Module`, PyTorch's class for everything that has parameters.
# It brings `parameters()`, `to(device)`, `state_dict()`, and the switch between training and evaluation.
# We add what the loop needs to know: the loss, what happens with a training batch and with a validation batch, and the optimizer.
# A batch is a tuple whose last entry holds the labels; everything before it goes into the model.

# %% tags=["export"]
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

# %% [markdown]
# The steps report their loss through `plot`.
# It sends each value to two places: to the *board*, which draws smoothed curves while the model trains (its source follows the trainer's), and to the trainer, which keeps means for the record.
# The horizontal axis counts epochs; a training batch lies at a fraction of one.

# %% tags=["export"]
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

# %% [markdown]
# The steps call the model itself, `self(X)`, and not `self.forward(X)`.
# Both compute the same numbers, but the call of the object also runs the *hooks*: functions attached to watch a layer without changing its code.

# %%
calls = []
layer = nn.Linear(3, 1)
hook = layer.register_forward_hook(
    lambda module, inputs, output: calls.append(tuple(output.shape)))
X = torch.ones(5, 3)
layer(X)          # runs forward, then the hook
layer.forward(X)  # runs forward only
hook.remove()
print("shapes seen by the hook:", calls)
assert calls == [(5, 1)]

# %% [markdown]
# `nn.Module` keeps a register of its submodules, and that register is created by its constructor.
# So `super().__init__()` must run before the first layer is stored.
# PyTorch rejects the wrong order:

# %%
# check 3.2-C8: a submodule cannot be stored before super().__init__()
class WrongOrder(Module):
    def __init__(self):
        self.net = nn.Linear(2, 1)
        super().__init__()

try:
    WrongOrder()
    message = None
except AttributeError as error:
    message = str(error)
print(message)
assert message is not None and "__init__" in message

# %% [markdown]
# ## DataModule: where the batches come from
#
# A `DataModule` returns two *loaders*: objects that can be iterated again and again, that yield one minibatch at a time, and that know their length, the number of batches.
# A list of batches is already a loader; [Section 3.3](03-synthetic-regression-data.ipynb) writes better ones.

# %% tags=["export"]
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

# %% [markdown]
# ## Trainer: the loop
#
# `fit` brings the two together.
# It asks the data for their loaders, makes itself known to the model and moves it to the device, asks the model for its optimizer, and runs the epochs.
# What happens *in* an epoch is left open here; [Section 3.4](04-linear-regression-scratch.ipynb) fills it in.
# A method that fixes the order of the steps and leaves one of them to be supplied later is known as a *template method*.

# %% tags=["export"]
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

# %% [markdown]
# ![Sequence diagram. You call fit on the Trainer. The Trainer asks DataModule for both loaders, sets itself as the trainer of Module and moves it to the device, and asks Module for the optimizer. Then, for each epoch, fit_epoch runs training steps and validation steps of Module, which report their losses back by record, and close_epoch appends the means to the history. At the end the board is shown.](img/fit-sequence.svg)

# %% [markdown]
# **Figure 3.2.2.** What `fit` calls, from top to bottom.
# Only the part in the inner frame, `fit_epoch`, is missing in this section.

# %% [markdown]
# Three short methods keep the record of a run.
# `reset` empties it, and `fit` calls it: a trainer can be used again.
# `record` receives each value that `plot` reports, and `close_epoch` turns the values of an epoch into one mean.
#
# An epoch often ends with a smaller batch, and a plain mean of the batch means would give its examples too much weight.
# The mean over all examples is
#
# $$
# \bar\ell = \frac{\sum_k n_k \ell_k}{\sum_k n_k} \tag{3.2.1}
# $$
#
# where $\ell_k$ is the mean loss of batch $k$ and $n_k$ the number of its examples, both numbers.
# Two batches with 3 examples and 1 example and the mean losses 2 and 6 have $\bar\ell = (3 \cdot 2 + 1 \cdot 6)/4 = 3$, while the mean of the means is 4.
# The loop stores $n_k$ in `num_examples` before each step.
# The sums stay tensors, and a step on a GPU need not wait for them; they become floats once per epoch.
#
# For the training loss, one caution: its batches are measured while the parameters move, so its mean over an epoch belongs to no single state of the model.
# The validation loss is measured at the end of the epoch, and early in training it can be far lower ([Section 3.4](04-linear-regression-scratch.ipynb)).

# %% tags=["export"]
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

# %% [markdown]
# ## Curves that grow during training
#
# The board is a convenience of notebooks and no part of the loop; readers in a hurry can skip its folded source.
# The loss of a minibatch is a noisy number, because each minibatch is a random draw.
# A `ProgressBoard` therefore averages $m$ consecutive points into one.
# From the raw values $y_0, y_1, \dots$ of a curve it draws
#
# $$
# \bar y_j = \frac{1}{m} \sum_{i=0}^{m-1} y_{jm+i}, \qquad j = 0, 1, \dots \tag{3.2.2}
# $$
#
# Here $y_i$ is the $i$-th raw value, a number; $m \ge 1$ is the number of points that are averaged, `every_n` in the code; $\bar y_j$ is the $j$-th value drawn.
# The abscissae are averaged in the same way.
# If the raw values have independent noise of standard deviation $\sigma$, then $\bar y_j$ has noise $\sigma/\sqrt m$: with $m = 100$ it is ten times smaller.
#
# Drawing takes far longer than a training step of a small model, so `draw` only stores a point.
# In a live notebook the picture is renewed at most once a second; where no one is watching it is drawn once, at the end.

# %% tags=["export", "hide-input"]
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

# %% [markdown]
# Two details matter for speed and memory.
# A loss is a tensor that holds on to the graph that computed it; `_value` detaches it, and the graph can be freed.
# And a tensor on a GPU is fetched only when its group is complete: `_mean` computes the mean of the group first, and `.item()` then waits for the device once in $m$ steps rather than at each.

# %% tags=["export", "hide-input"]
def _value(number):
    """A number, or a scalar tensor without its graph."""
    return number.detach() if isinstance(number, torch.Tensor) else number

def _mean(values):
    """Mean of numbers or of scalar tensors, as a float."""
    if isinstance(values[0], torch.Tensor):
        return torch.stack(values).cpu().double().mean().item()
    return float(sum(values) / len(values))

# %% tags=["export", "hide-input"]
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

# %%
# check 3.2-C4: groups of two are averaged; 0 behaves like 1
board = ProgressBoard(display=False)
for i in range(10):
    board.draw(i, i, "pairs", every_n=2)
    board.draw(i, torch.tensor(i), "single", every_n=0)
assert board.data["pairs"] == [(k, k) for k in (0.5, 2.5, 4.5, 6.5, 8.5)]
assert board.data["single"] == [(i, i) for i in range(10)]

# %% [markdown]
# The value 0 is not far-fetched.
# Two points per epoch mean `every_n = num_batches // 2`, and an epoch of a single batch makes that 0.
# A board that waits until it has *exactly* `every_n` points then waits forever.
# That is why `draw` asks whether there are *fewer*: an interval of 0 means 1.
#
# The rest is the picture itself, with an alternative text for readers who cannot see it.
# In a script, `board.fig` holds the finished figure, and `board.fig.savefig("curves.png")` stores it.

# %% tags=["export", "hide-input"]
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

# %% tags=["export", "hide-input"]
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

# %% tags=["export", "hide-input"]
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

# %% tags=["hide-input"]
# check: when the board draws
silent, live, drawn = ProgressBoard(display=False), ProgressBoard(), []
silent.draw(0, 0, "a")
silent.show()
assert silent.fig is None and not silent.is_live()  # never
live.is_live, live.render = lambda: True, lambda: drawn.append(live.data)
live.last_drawn = time.monotonic() + 60  # however slow the machine
live.draw(0, 0, "a")
assert not drawn  # at most once a second
live.last_drawn -= 62
live.draw(1, 1, "a")
assert len(drawn) == 1 and drawn[0]["a"] == [(0, 0), (1, 1)]

# %% tags=["hide-input"]
# check: a board on axes that it was given, and when a board is live
own = ProgressBoard("t", axes=plt.figure().add_subplot())
plt.close(own.axes.figure)
in_notebook, headless = _in_notebook, os.environ.pop("D2L_HEADLESS", None)
_in_notebook = lambda: False
assert not own.is_live()  # a script
for i in range(2):
    own.draw(i, 3 * i, "a")
own.last_drawn = -math.inf
own.render()
assert own.last_drawn > -math.inf  # the next picture waits a second
assert own.lines["a"].get_xydata().tolist() == [[0, 0], [1, 3]]
assert own.summary() == "Curves over t: a goes from 0 at 0 to 3 at 1."
axes = own.axes
own.clear()
assert own.axes is axes and not axes.lines and not own.data
_in_notebook = lambda: True
assert own.is_live()
os.environ["D2L_HEADLESS"] = "1"
assert not own.is_live()
_in_notebook = in_notebook
if headless is None:
    del os.environ["D2L_HEADLESS"]
else:
    os.environ["D2L_HEADLESS"] = headless

# %% [markdown]
# We try it with a sine and a cosine that carry the same amount of noise, the first averaged over 2 points, the second over 10.

# %%
generator = torch.Generator().manual_seed(0)
xs = [0.1 * i for i in range(200)]
noise = 0.3 * torch.randn(2, len(xs), generator=generator)

board = ProgressBoard(xlabel="x", ylabel="value", figsize=(5.0, 2.8))
for i, x in enumerate(xs):
    board.draw(x, math.sin(x) + noise[0, i].item(), "sin", every_n=2)
    board.draw(x, math.cos(x) + noise[1, i].item(), "cos", every_n=10)
board.show("A noisy sine curve, jagged because only 2 points are averaged, "
           "and a cosine curve, much smoother because 10 points are "
           "averaged, with visible corners.")

# %% [markdown]
# **Figure 3.2.3.** The same noise under different smoothing: averaging 2 points leaves a jagged line, averaging 10 a smooth one with fewer points, at the price of cut peaks (Exercise 3.2-5).

# %% [markdown]
# ## Methods that wait for a subclass
#
# All methods that wait for a subclass raise `NotImplementedError`, and each says what to define:

# %%
# check 3.2-C5: abstract methods say so; a Module is an nn.Module
def error_of(function, *args):
    """The exception that a call raises, or None."""
    try:
        function(*args)
    except Exception as error:
        return error

X, y = torch.zeros(2, 1), torch.zeros(2, 1)
for function, *args in ((Module(), X), (Module().loss, y, y),
                        (Module().configure_optimizers,),
                        (DataModule().train_dataloader,),
                        (DataModule().val_dataloader,),
                        (Trainer(max_epochs=1).fit_epoch,)):
    assert type(error_of(function, *args)) is NotImplementedError
assert isinstance(Module(), nn.Module)
untrained = error_of(Module().plot, "loss", 1.0, True)
assert type(untrained) is RuntimeError and "no trainer" in str(untrained)

# %% [markdown]
# Python also has a constant `NotImplemented`, which operators such as `__eq__` *return* in order to let the other operand try.
# It is not an exception, and raising it gives an unrelated error:

# %%
# check 3.2-C6: NotImplemented is not an exception
def unfinished():
    raise NotImplemented

error = error_of(unfinished)
print(f"{type(error).__name__}: {error}")
assert type(error) is TypeError

# %% [markdown]
# ## A rehearsal
#
# Before anything learns, we can rehearse with stand-ins: data that are a list of batches, a model whose loss is a script, and a `fit_epoch` that walks through the batches without changing a parameter.
# The scripted loss of a batch is the mean of its labels, halved in each epoch.

# %%
class StubData(DataModule):
    """Four training batches of 3, 3, 3, 1 examples; two to validate."""

    def get_dataloader(self, train):
        sizes = [3, 3, 3, 1] if train else [3, 1]
        return [(torch.zeros(n, 1), torch.full((n, 1), 2.0 if n > 1 else 6.0))
                for n in sizes]

class StubModel(Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 1)

    def loss(self, y_hat, y):
        return y.mean() * 0.5 ** self.trainer.epoch  # scripted

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

# %%
class Rehearsal(Trainer):
    """Calls the steps in the right order, but learns nothing."""

    def fit_epoch(self):
        for batch in self.train_dataloader:
            self.num_examples = len(batch[-1])
            self.model.training_step(batch)
            self.train_batch_idx += 1
        for batch in self.val_dataloader:
            self.num_examples = len(batch[-1])
            self.model.validation_step(batch)
            self.val_batch_idx += 1

model, trainer = StubModel(), Rehearsal(max_epochs=3)
trainer.fit(model, StubData())

# %% [markdown]
# **Figure 3.2.4.** What every call of `fit` leaves below its cell: the training loss with two points for each epoch, the validation loss with one.
# Both are scripted to halve in each epoch; the second point of an epoch is the higher one because its two batches include the small one with the large labels.

# %% [markdown]
# The history holds (3.2.1) for each epoch: $(9 \cdot 2 + 1 \cdot 6)/10 = 2.4$ for training and 3 for validation, then halves of them.
# The board has averaged the two validation batches without weights and shows 4: its curves are for the eye, `history` is the value to rely on.

# %%
# check: weighted means in the history, plain ones on the board
for label, values in trainer.history.items():
    print(label, [round(value, 4) for value in values])
expected = {"train_loss": [2.4, 1.2, 0.6], "val_loss": [3.0, 1.5, 0.75]}
for label, values in expected.items():
    torch.testing.assert_close(trainer.history[label], values)
assert model.board.data["val_loss"] == [(1, 4), (2, 2), (3, 1)]
assert model.board.data["train_loss"][:2] == [(0.125, 2), (0.625, 4)]
assert model.board.xlim == [0, 3]  # the axis spans the whole run

# %%
# check: what is kept of a loss holds no graph; devices
loss = torch.ones((), requires_grad=True) * 2
probe, waiting = Trainer(max_epochs=1), ProgressBoard(display=False)
probe.record("loss", loss)
waiting.draw(0, loss, "loss", every_n=2)
assert not probe.sums["loss"].requires_grad
assert not waiting.raw["loss"][0][1].requires_grad
assert probe.device.type == "cpu"  # unless a GPU is asked for
probe.device, moved = torch.device("meta"), StubModel()
probe.prepare_model(moved)  # takes the model to its device
assert moved.net.weight.device.type == "meta"

# %%
# check 3.2-C7: fit counts the batches and runs max_epochs epochs
class Counting(Trainer):
    def fit_epoch(self):
        self.calls = getattr(self, "calls", 0) + 1

counting = Counting(max_epochs=5)
counting.fit(StubModel(), StubData())
assert counting.calls == 5
assert counting.num_train_batches == 4 and counting.num_val_batches == 2
assert trainer.train_batch_idx == 12 and trainer.val_batch_idx == 6

# %% [markdown]
# For unattended runs, `model.board.display = False` suppresses the picture; the points and the history are kept.
# A second call of `fit` starts a new record, so running a cell twice does not mix two runs:

# %%
model.board.display = False
trainer.fit(model, StubData())
assert len(trainer.history["val_loss"]) == trainer.max_epochs == 3
assert model.board.data["val_loss"] == [(1, 4), (2, 2), (3, 1)]

# %% [markdown]
# A warning about saving:
# after `fit` the model refers to its trainer, the trainer to the loaders and the optimizer, and the board to a figure.
# Pickling the model drags all of them along, and fails as soon as one of them cannot be pickled.
# A trained model is saved by its `state_dict`, which holds the parameters and nothing else:

# %%
stowaway = pickle.loads(pickle.dumps(model)).trainer
print("training batches in the pickled model:",
      len(stowaway.train_dataloader))
assert stowaway.optim is not None and stowaway.num_train_batches == 4

saved = pickle.dumps(model.state_dict())
twin = StubModel()
twin.load_state_dict(pickle.loads(saved))
X = torch.ones(4, 1)
torch.testing.assert_close(twin(X), model(X), rtol=0, atol=0)

# %% [markdown]
# ## Relation to PyTorch Lightning
#
# The library PyTorch Lightning organizes training by the same division of labour and partly by the same names.
# A reader who knows the classes of this section can read its programs.
#
# | here | in Lightning | main difference |
# | --- | --- | --- |
# | `Module` | `LightningModule` | `training_step(batch, batch_idx)`; values are reported by `self.log` instead of `plot` |
# | `DataModule` | `LightningDataModule` | separate steps to download (`prepare_data`) and to split (`setup`) |
# | `Trainer` | `Trainer` | also several devices, mixed precision, checkpoints, callbacks, and many options |
# | `HyperParameters` | `save_hyperparameters` | also written into checkpoints |
# | `ProgressBoard` | loggers | write to files or servers rather than into the notebook |
#
# This book prefers a loop that is short enough to read.

# %% [markdown]
# ## Summary
#
# - Data, model with loss, and loop change independently, so each is a class: `DataModule`, `Module`, `Trainer`.
# - Methods are looked up when they are called; `add_to_class` uses this to extend a class cell by cell, and must return the function.
# - `fit` fixes the order of all steps and leaves the epoch open.
# - The board smooths for the eye, at the price of cut peaks; `history` holds means weighted by examples, which can be asserted; for the training loss they are means over moving parameters.
# - First `super().__init__()`, then layers; no mutable defaults; `NotImplementedError`, not `NotImplemented`; intervals of at least 1; save `state_dict`, not objects.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 3.2-1
#
# The constructor of a model receives a learning rate `lr`, and its author forgot to call `save_hyperparameters`.
# At which moment does the program fail, and on which access?
# Predict it for a class that is trained with `fit`, then run it.

# %% [markdown]
# #### Solution 3.2-1

# %% [markdown]
# The constructor succeeds, because nothing reads the attribute there.
# `fit` then prepares the data and the model, and the first access is `self.lr` in `configure_optimizers`.
# No epoch has begun.

# %%
class Forgotten(StubModel):
    def __init__(self, lr):
        super().__init__()  # and no self.save_hyperparameters()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)

forgotten, trainer = Forgotten(lr=0.1), Rehearsal(max_epochs=3)
error = error_of(trainer.fit, forgotten, StubData())
print(f"{type(error).__name__}: {error}")
assert isinstance(error, AttributeError) and "'lr'" in str(error)
assert forgotten.trainer is trainer and trainer.train_batch_idx == 0

# %% [markdown]
# ### Exercise 3.2-2
#
# `save_hyperparameters` reaches into the frame of its caller, which is convenient and a little intrusive.
# Write a variant that is handed `locals()` explicitly and uses `inspect.signature` to find out which of the values are arguments.
# Base class and subclass may both call it.
# Which mistake can be made with it that the frame version does not allow, and the other way round?

# %% [markdown]
# #### Solution 3.2-2

# %% [markdown]
# `locals()` holds `self`, perhaps `__class__`, and every local variable that exists so far.
# The arguments are the names that occur in the signature of a constructor of the class or of one of its base classes.

# %%
class ExplicitHyperParameters:
    def save_hyperparameters(self, values, ignore=()):
        names = {name for cls in type(self).__mro__
                 for name in inspect.signature(cls.__init__).parameters}
        new = {name: value for name, value in values.items()
               if name in names - {"self", *ignore}}
        self.hparams = {**getattr(self, "hparams", {}), **new}
        for name, value in new.items():
            setattr(self, name, value)

# %%
class ExplicitRecipe(ExplicitHyperParameters):
    def __init__(self, a=1, b=2, c=3):
        helper = a + b  # no argument, must not be stored
        self.save_hyperparameters(locals(), ignore=["c"])

class ExplicitLongRecipe(ExplicitRecipe):
    def __init__(self, d, b=20):
        super().__init__(b=b)
        self.save_hyperparameters(locals())

assert ExplicitRecipe().hparams == Recipe().hparams
explicit = ExplicitLongRecipe(d=4)
assert explicit.hparams == LongRecipe(d=4).hparams
assert explicit.d == 4 and not hasattr(explicit, "helper")

# %% [markdown]
# The explicit variant stores a local variable of the base class by mistake if it happens to have the name of an argument of the subclass; calling it in the first line excludes that.
# The frame version stores the wrong arguments if it is called from a helper function instead of from `__init__`, because then the helper is its caller.

# %% [markdown]
# ### Exercise 3.2-3
#
# *Early stopping* ends the training when the validation loss has not improved for some epochs.
# Add it to `Trainer` with `add_to_class`: an attribute `patience`, the number of epochs without a new minimum after which `fit` stops.
# When it stops, the model has already trained past its best epoch; make sure that it ends with the weights of that epoch.
# Test it with a scripted loss, for which you know the right epoch.

# %% [markdown]
# #### Solution 3.2-3

# %% [markdown]
# `epochs_since_best` reads what it needs from the history, and `fit` gains two conditions: at a new minimum it keeps a copy of the state, and at the end it restores it.
# The copy must be a real one: `state_dict` returns the parameters themselves, which go on changing.
# (A state holds registered parameters only; the plain tensors of [Section 3.4](04-linear-regression-scratch.ipynb) would not be restored.)
# All trainers, including the subclasses above, have it from then on; without `patience` they behave as before.

# %%
@add_to_class(Trainer)
def epochs_since_best(self):
    """Epochs since the lowest validation loss; 0 without one."""
    losses = self.history.get("val_loss", [0.0])
    return len(losses) - 1 - losses.index(min(losses))

@add_to_class(Trainer)
def fit(self, model, data):
    self.prepare_data(data)
    self.prepare_model(model)
    self.optim = model.configure_optimizers()
    self.reset()
    model.board.clear()
    patience = getattr(self, "patience", None)
    for self.epoch in range(self.max_epochs):
        self.fit_epoch()
        self.close_epoch()
        if patience is not None:
            if self.epochs_since_best() == 0:
                best = copy.deepcopy(model.state_dict())
            elif self.epochs_since_best() >= patience:
                break
    if patience is not None:
        model.load_state_dict(best)
    model.board.show()

# %% [markdown]
# The script below has its minimum in the fourth epoch.
# With a patience of 2 the training must end after the sixth, and the better values in the second half of the script are not seen.
# To see which weights the model ends with, its trainer writes the number of the epoch into them.

# %%
class Scripted(StubModel):
    script = [5.0, 3.0, 4.0, 2.0, 2.5, 2.0, 1.0, 0.5]

    def loss(self, y_hat, y):
        return torch.tensor(self.script[self.trainer.epoch])

class Marking(Rehearsal):
    def fit_epoch(self):
        nn.init.constant_(self.model.net.weight, self.epoch)
        super().fit_epoch()

for patience, epochs, best in ((1, 3, 1), (2, 6, 3), (3, 8, 7),
                               (None, 8, 7)):
    trainer, model = Marking(max_epochs=8), Scripted()
    model.board.display = False
    if patience is not None:
        trainer.patience = patience
    trainer.fit(model, StubData())
    assert trainer.history["val_loss"] == Scripted.script[:epochs]
    assert model.net.weight.item() == best
trainer.fit(model, StubData())  # the history begins anew
assert trainer.history["val_loss"] == Scripted.script

# %% [markdown]
# ### Exercise 3.2-4
#
# On a cluster a log file is more useful than a picture.
# Write a class `CSVLogger` with the interface of the board that writes each point, when it is complete, as a row `label,x,y` into a file.
# Train with it without changing `Module` or `Trainer`.

# %% [markdown]
# #### Solution 3.2-4

# %% [markdown]
# The model and the trainer use `draw`, `clear`, `show` and the attributes `xlabel` and `xlim`.
# A subclass inherits all of them, and the averaging too; it only has to write what `draw` has added to `data`.

# %%
class CSVLogger(ProgressBoard):
    """A board that writes its points into a file instead of drawing."""

    def __init__(self, file):
        super().__init__(display=False)
        self.writer = csv.writer(file)
        self.writer.writerow(["label", "x", "y"])

    def draw(self, x, y, label, every_n=1):
        before = len(self.data.get(label, []))
        super().draw(x, y, label, every_n)
        for point in self.data.get(label, [])[before:]:
            self.writer.writerow([label, *point])

# %%
file, model = io.StringIO(), StubModel()
model.board = CSVLogger(file)
Rehearsal(max_epochs=3).fit(model, StubData())
print(file.getvalue().replace("\r", ""), end="")

rows = list(csv.DictReader(io.StringIO(file.getvalue())))
points = {label: [(float(row["x"]), float(row["y"])) for row in rows
                  if row["label"] == label] for label in model.board.data}
assert points == model.board.data
assert len(rows) == 3 * (2 + 1)

# %% [markdown]
# ### Exercise 3.2-5
#
# Smoothing cuts peaks.
# Compute which fraction of the height of a cosine, sampled at distance $\delta$, is left when $m$ neighbouring values are averaged into one.
# Check it with a board for $m=10$ and $\delta=0.1$.

# %% [markdown]
# #### Solution 3.2-5

# %% [markdown]
# The mean of $m$ neighbouring values, at the centre $\bar x$ of their abscissae, is
#
# $$
# \frac1m \sum_{i=0}^{m-1} \cos(x_0 + i\delta) = \frac{\sin(m\delta/2)}{m \sin(\delta/2)}\, \cos \bar x \tag{3.2.3}
# $$
#
# where $x_0$ is the first abscissa, $\bar x = x_0 + (m-1)\delta/2$, and all quantities are numbers.
# For $m = 10$ and $\delta = 0.1$ the factor is $\sin 0.5 / (10 \sin 0.05) = 0.959$: four per cent of the height is gone, while independent noise falls to less than a third.

# %%
board = ProgressBoard(display=False)
for x in xs:
    board.draw(x, math.cos(x), "cos", every_n=10)
factor = math.sin(0.5) / (10 * math.sin(0.05))
assert all(abs(y - factor * math.cos(x)) < 1e-12
           for x, y in board.data["cos"])
print(f"height that is left: {factor:.3f}")

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the division into these classes and their names.
# - W. Falcon and the PyTorch Lightning team (2019). PyTorch Lightning. [doi:10.5281/zenodo.3828935](https://doi.org/10.5281/zenodo.3828935): the library that the design follows.
# - A. Paszke et al. (2019). PyTorch: an imperative style, high-performance deep learning library. [arXiv:1912.01703](https://arxiv.org/abs/1912.01703).
# - E. Gamma, R. Helm, R. Johnson, J. Vlissides (1994). Design Patterns. Addison-Wesley: the template method.
# - PyTorch documentation, [torch.nn.Module](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html): registration of submodules, hooks, `state_dict`.
# - Python documentation, [inspect](https://docs.python.org/3/library/inspect.html) and [built-in constants](https://docs.python.org/3/library/constants.html#NotImplemented): frames, signatures, `NotImplemented`.
