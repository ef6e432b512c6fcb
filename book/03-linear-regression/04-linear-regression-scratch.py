# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         num_seeds: 5
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
#
# What exactly happens when a model trains?
# This section writes every part of it, model, loss, optimizer and training loop, with tensors and automatic differentiation only.
# Before the first run we compute what it must give; the result then tests the code.
#
# **You will**
#
# - write a model, a loss, an optimizer and a training loop, each in a few lines, and know which calls must come in which order;
# - predict the error that is left after training, and the noise floor at which the loss levels off;
# - recognize four faults that raise no error: labels of the wrong shape, a forgotten `zero_grad`, a misplaced one, and parameters that are not registered.
#
# **Cost**: about fifteen seconds on a CPU, no download, no use for a GPU.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    DataModule, HyperParameters, Module, SyntheticRegressionData, Trainer,
    add_to_class)

d2l.use_style()

# %% tags=["parameters"]
num_seeds = 40  # repetitions of the training run

# %% [markdown]
# ## One step of training
#
# Training repeats one small cycle.
# A minibatch goes through the model, which gives predictions; the loss compares them with the labels and gives one number; automatic differentiation turns this number into a gradient for each parameter; the optimizer moves the parameters a little against their gradients.
#
# ![Five boxes in a cycle. The minibatch hands X to the model and y to the loss. The model computes y_hat = X @ w + b and hands it to the loss, which is one number. backward() turns the loss into the gradients w.grad and b.grad, step() uses them to change the parameters w and b, with which the model meets the next batch. zero_grad() empties the gradients.](img/training-step.svg)
#
# **Figure 3.4.1.** One step of training: X and y come in on the left, and the parameters change at the bottom before the next batch arrives.
#
# We write the boxes one by one, as methods of the classes of [Section 3.2](02-object-oriented-design.ipynb), and train on the data of [Section 3.3](03-synthetic-regression-data.ipynb), whose true parameters are known.

# %%
w_true, b_true = torch.tensor([2, -3.4]), 4.2
data = SyntheticRegressionData(w_true, b_true,
                               generator=torch.Generator().manual_seed(0))
X, y = next(iter(data.train_dataloader()))
print("a batch: X", tuple(X.shape), " y", tuple(y.shape))

# %% [markdown]
# ## Defining the model
#
# The model is the weighted sum of [Section 3.1](01-linear-regression.ipynb), for a whole batch at once:
#
# $$\hat{\mathbf{y}} = \mathbf{X}\mathbf{w}+b. \tag{3.4.1}$$
#
# Here $\mathbf{X}$, of shape $(n,d)$, holds the $n$ examples of the batch with $d$ features each, $\mathbf{w}$ of shape $(d,1)$ the weights, and $b$ of shape $(1,)$ the bias.
# The product has shape $(n,1)$; the one bias is *broadcast*, that is, added to each of its rows.
#
# Training needs a place to start.
# We draw the weights from $\mathcal{N}(0,0.01^2)$ and set the bias to 0.
# The 0.01 is a habit, not a law.
# The squared loss of a linear model is convex and has no second valley to fall into, so zeros work just as well (Exercise 3.4-1); from Chapter 5 on, models have hidden layers, and there the start matters.
# `requires_grad=True` asks PyTorch to record what is computed from these tensors and differentiate it later.

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

# %% [markdown]
# An untrained model predicts a number near 0, whatever the features.

# %%
torch.manual_seed(0)
model = LinearRegressionScratch(num_inputs=2, lr=0.03)
y_hat = model(X)  # (32, 1)
print("predictions:", [round(v, 3) for v in y_hat[:3, 0].tolist()])
print("labels:     ", [round(v, 3) for v in y[:3, 0].tolist()])
assert y_hat.shape == y.shape == (32, 1)
for options, scale in (({}, 0.01), ({"sigma": 5}, 5)):
    start = LinearRegressionScratch(4000, lr=0.03, **options)
    assert abs(start.w.std() / scale - 1) < 0.06 and start.b.tolist() == [0]

# %% [markdown]
# ## Defining the loss
#
# The loss of a batch is half the squared error, averaged over its examples:
#
# $$L_{\mathcal{B}}(\mathbf{w},b) = \frac1{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\frac12\left(\hat y^{(i)}-y^{(i)}\right)^2, \tag{3.4.2}$$
#
# where $\mathcal{B}$ is the set of the $|\mathcal{B}|$ example numbers in the batch, and $\hat y^{(i)}$ and $y^{(i)}$ are the prediction and the label of example $i$, both numbers.
# For the predictions 1 and 3 and the labels 1 and 2 it is $\frac12\left(0+\frac12\cdot1^2\right)=0.25$.
# In code it is one line.

# %%
def half_squared_error(y_hat, y):
    return ((y_hat - y) ** 2 / 2).mean()

small = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [2.0]])
assert half_squared_error(*small) == 0.25

# %% [markdown]
# ### The loss that compares everyone with everyone
#
# This line has a trap.
# Suppose that the labels come as a vector of shape $(n,)$, as they do from most tables, while the predictions are a column of shape $(n,1)$.
# Nothing complains: broadcasting stretches both to $(n,n)$, and entry $(i,j)$ is the prediction for example $i$ minus the label of example $j$.

# %%
labels = torch.tensor([1.0, 2, 3, 4, 5])  # (5,)
perfect = labels.reshape(-1, 1)  # (5, 1): every prediction is right
difference = perfect - labels  # (5, 1) - (5,) -> (5, 5)
ax = d2l.heatmap(difference, annotate=".0f", cmap="RdBu",
                 xlabel="label of example $j$",
                 ylabel="prediction for example $i$",
                 rows=list("12345"), cols=list("12345"))
for i in range(5):
    ax.add_patch(plt.Rectangle((i - 0.48, i - 0.48), 0.96, 0.96, fill=False,
                               edgecolor="black", linewidth=2))
d2l.describe(ax, "A 5 by 5 table of differences. The five framed entries "
             "on the diagonal are 0; all others are not, up to plus and "
             "minus 4 in the corners.")

# %% [markdown]
# **Figure 3.4.2.** Perfect predictions minus labels of the wrong shape: only the framed diagonal was asked for, yet all 25 entries enter the mean.
#
# What does a model learn from such a loss?
# The mean over all pairs can be split into two parts:
#
# $$\frac1{n^2}\sum_{i=1}^n\sum_{j=1}^n\frac12\left(\hat y^{(i)}-y^{(j)}\right)^2 = \frac1n\sum_{i=1}^n\frac12\left(\hat y^{(i)}-\bar y\right)^2+\frac12\operatorname{Var}(y), \tag{3.4.3}$$
#
# where $n$ is the number of examples, $\bar y=\frac1n\sum_jy^{(j)}$ the mean label and $\operatorname{Var}(y)=\frac1n\sum_j(y^{(j)}-\bar y)^2$ the variance of the labels, both numbers.
# To see it, write the difference as $(\hat y^{(i)}-\bar y)+(\bar y-y^{(j)})$; the mixed terms of the square add up to zero, because $\bar y$ is the mean.
# The second part does not depend on the model, and the first is smallest when every prediction equals $\bar y$.
# So training converges, the loss falls smoothly, and the result ignores all features.
# We train for 300 steps on labels without any noise, once with each shape.

# %%
X_all = data.X[:1000]  # (1000, 2)
y_clean = X_all @ w_true.reshape(-1, 1) + b_true  # (1000, 1)

def fit_full_batch(y, steps=300, lr=0.1):
    """Gradient descent on all 1000 examples -> w (2, 1), b (1,), loss."""
    torch.manual_seed(0)
    model = LinearRegressionScratch(2, lr)
    for _ in range(steps):
        loss = half_squared_error(model(X_all), y)
        grad_w, grad_b = torch.autograd.grad(loss, (model.w, model.b))
        with torch.no_grad():
            model.w -= lr * grad_w
            model.b -= lr * grad_b
    return model.w.detach(), model.b.item(), loss.item()

for labels in (y_clean, y_clean[:, 0]):
    w, b, loss = fit_full_batch(labels)
    w = [round(v, 2) + 0 for v in w[:, 0].tolist()]  # + 0: no -0.0
    print(f"labels {str(tuple(labels.shape)):9} w {w}, b {b:.2f}, "
          f"loss {loss:.2f}")

# %%
# check 3.4-C7: labels of shape (n,) train the constant mean of the labels
w, b, loss = fit_full_batch(y_clean[:, 0])
assert w.abs().max() < 1e-4
assert abs(b - y_clean.mean()) < 1e-3
assert math.isclose(loss, y_clean.var(correction=0) / 2, rel_tol=1e-4)
w, b, loss = fit_full_batch(y_clean)  # the right shape finds the truth
assert (w[:, 0] - w_true).abs().max() < 1e-4 and loss < 1e-8

# %% [markdown]
# A loss that falls and then stays near half the variance of the labels is a sign of this fault.
# Rather than hope that someone reads the curve, our loss rejects mismatched shapes.

# %% tags=["export"]
@add_to_class(LinearRegressionScratch)
def loss(self, y_hat, y):
    """Half the squared error, averaged over a batch of columns (n, 1)."""
    if y_hat.shape != y.shape:
        raise ValueError(f"predictions {tuple(y_hat.shape)} and labels "
                         f"{tuple(y.shape)} differ in shape; "
                         "make the labels a column: y.reshape(-1, 1)")
    return ((y_hat - y) ** 2 / 2).mean()

# %%
try:
    model.loss(model(X), y[:, 0])
    raise AssertionError("labels of shape (32,) should be rejected")
except ValueError as error:
    print("ValueError:", error)
assert model.loss(*small) == 0.25

# %% [markdown]
# ## Defining the optimizer
#
# Minibatch stochastic gradient descent ([Section 3.1](01-linear-regression.ipynb)) subtracts from each parameter the learning rate times its gradient.
# The optimizer holds the parameters and does just that, in `step`.
# Its second method, `zero_grad`, discards the gradients of the last batch; we will soon see what happens without it.
#
# The update stands under `torch.no_grad()`, because it is not part of the function that we differentiate.
# Without this guard PyTorch stops us: a parameter is a *leaf*, a tensor that nothing computed, and recording its own change would make it depend on itself.

# %% tags=["export"]
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

# %% tags=["export"]
@add_to_class(LinearRegressionScratch)
def configure_optimizers(self):
    return SGD([self.w, self.b], self.lr)

# %%
try:
    model.b -= 0.1  # an update that PyTorch would have to record
    raise AssertionError("a tracked in-place update should be rejected")
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# The line `param -= ...` changes the tensor in place.
# Writing `param = param - ...` instead would create a new tensor under the name `param` and leave the model as it was, again without an error.
#
# An optimizer this small can be compared with PyTorch's own, on the same parameters and the same gradients.

# %%
# check 3.4-C6: our step is the step of torch.optim.SGD
torch.manual_seed(0)
ours = [torch.randn(2, 1, requires_grad=True),
        torch.randn(1, requires_grad=True)]
theirs = [p.detach().clone().requires_grad_() for p in ours]
unused = torch.ones(1, requires_grad=True)  # has no gradient
for params, optimizer in ((ours, SGD), (theirs, torch.optim.SGD)):
    # An iterator can be read only once; two steps must do all the same.
    optimizer = optimizer(iter([*params, unused]), lr=0.03)
    for _ in range(2):
        optimizer.zero_grad()
        half_squared_error(X @ params[0] + params[1], y).backward()
        optimizer.step()
torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
assert unused.item() == 1

# %% [markdown]
# The loss is a *mean* over the batch, and so is its gradient: a batch that contains every example twice asks for the same step.
# On average a larger batch asks for the same step, with less noise in it.
# With a sum instead of a mean, doubling the batch would double the step.

# %%
def gradient(X, y, reduce):
    """Gradient with respect to w at w = 0, b = 0, shape (2, 1)."""
    w = torch.zeros(2, 1, requires_grad=True)
    reduce((X @ w - y) ** 2 / 2).backward()
    return w.grad

for reduce, factor in ((torch.mean, 1), (torch.sum, 2)):
    once = gradient(X, y, reduce)
    twice = gradient(X.repeat(2, 1), y.repeat(2, 1), reduce)
    torch.testing.assert_close(twice, factor * once)

# %% [markdown]
# ## Training
#
# Training initializes the parameters and then repeats, for one batch $\mathcal{B}$ after the other,
#
# $$\mathbf{g} \leftarrow \partial_{(\mathbf{w},b)}\frac1{|\mathcal{B}|}\sum_{i\in\mathcal{B}}l(\mathbf{x}^{(i)},y^{(i)},\mathbf{w},b),\qquad (\mathbf{w},b) \leftarrow (\mathbf{w},b)-\eta\,\mathbf{g}, \tag{3.4.4}$$
#
# where $l$ is the loss of one example, $\mathbf{x}^{(i)}\in\mathbb{R}^d$ its features and $y^{(i)}$ its label, $\eta>0$ is the learning rate, and $\mathbf{g}$ has $d+1$ entries, one for each parameter.
#
# `Trainer.fit` of [Section 3.2](02-object-oriented-design.ipynb) already does what surrounds this loop; `fit_epoch` is what it left to us.
# First a small helper: `prepare_batch` moves a batch to where the model is.
# On a CPU it changes nothing.

# %% tags=["export", "no-slide"]
@add_to_class(Trainer)
def prepare_batch(self, batch):
    """Move the tensors of a batch to the device of the trainer."""
    return d2l.to_device(batch, self.device)

# %%
# check: the batch goes where the trainer is
elsewhere = Trainer(max_epochs=1)
elsewhere.device = torch.device("meta")  # shapes without numbers
assert all(part.device.type == "meta"
           for part in elsewhere.prepare_batch((X, y)))

# %% [markdown]
# Now the loop itself.
# Every line of it returns in later chapters, so the reason for each is given below the cell.

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

# %% tags=["export", "no-slide"]
@add_to_class(Trainer)
def clip_gradients(self, max_norm, model):
    """Limit the length of the gradient; Section 9.5 replaces this."""
    raise NotImplementedError("Section 9.5 defines clip_gradients(); "
                              "until then use gradient_clip_val=0")

# %% [markdown]
# `train()` and `eval()` switch layers that behave differently in training and in use; our model has none, later ones do.
# `num_examples` tells the trainer how many examples stand behind the loss of this batch; the smaller last batch then counts for less in the mean of the epoch (Exercise 3.4-5).
# `training_step`, inherited from `Module`, runs the model and the loss, and reports the value to the board and the history.
# `zero_grad`, `backward` and `step` are the arrows of Figure 3.4.1 that touch the gradients.
# No step asks for its own loss as a Python number: `loss.item()` would make the program wait for an accelerator at every batch; the board fetches the mean of a whole group at once.
# Clipping, which limits the length of the gradient, is off unless asked for; recurrent networks will need it in Section 9.5.
#
# The validation pass runs once in each epoch, and under `torch.inference_mode()`: nothing there will be differentiated, so nothing need be recorded.
# A data module without validation data returns `None`, and the pass is skipped.

# %% [markdown]
# ### What must come out
#
# We will train for 3 epochs of 32 batches, 96 steps, with learning rate $\eta=0.03$.
# How close will the parameters come to the true ones?
#
# Write $\boldsymbol\theta_t$ for the three parameters after $t$ steps, $\boldsymbol\theta^*=(2,-3.4,4.2)$ for the true ones, and $\mathbf{e}_t=\boldsymbol\theta^*-\boldsymbol\theta_t$ for the error, a vector with 3 entries.
# [Section 3.1](01-linear-regression.ipynb) showed that a step on a squared loss multiplies the error by a matrix.
# For a batch, and up to the noise of the labels,
#
# $$\mathbf{e}_{t+1} = (\mathbf{I}-\eta\,\mathbf{H}_{\mathcal{B}})\,\mathbf{e}_t,\qquad \mathbf{H}_{\mathcal{B}} = \frac1{|\mathcal{B}|}\tilde{\mathbf{X}}^\top\tilde{\mathbf{X}}, \tag{3.4.5}$$
#
# where $\tilde{\mathbf{X}}$, of shape $(|\mathcal{B}|,3)$, holds the features of the batch and a column of ones for the bias, and $\mathbf{I}$ and $\mathbf{H}_{\mathcal{B}}$ have shape $(3,3)$.
# Our features are independent with mean 0 and variance 1, so $\mathbf{H}_{\mathcal{B}}$ is $\mathbf{I}$ on average.
# Each step then leaves the fraction $1-\eta$ of the error, and since training starts near 0, the first error is nearly $\boldsymbol\theta^*$ itself:
#
# $$\mathbf{e}_t \approx (1-\eta)^t\,\mathbf{e}_0 \approx (1-\eta)^t\,\boldsymbol\theta^*. \tag{3.4.6}$$
#
# For $t=96$ the factor is $0.97^{96}\approx0.0537$.
# About 5 % of each parameter will be missing.

# %%
lr, steps = 0.03, 3 * 32
theta_true = torch.tensor([2, -3.4, 4.2])
predicted = (1 - lr) ** steps * theta_true  # (3,)
print("predicted errors:", [round(e, 3) for e in predicted.tolist()])

# %% [markdown]
# ### The run

# %%
data = SyntheticRegressionData(w_true, b_true,
                               generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
model = LinearRegressionScratch(num_inputs=2, lr=lr)
trainer = Trainer(max_epochs=3)
trainer.fit(model, data)

# %% [markdown]
# **Figure 3.4.3.** The board of the trainer: the training loss of half an epoch at a time, the validation loss at the end of each epoch.
#
# The training loss lies above the validation loss, although the model has seen the training examples.
# The two are measured with different models: `history["train_loss"]` averages over an epoch in which the parameters move, from the poor start to the better end, while the validation loss belongs to the end.
# With the parameters of the end, both data sets give nearly the same loss.

# %%
with torch.no_grad():
    at_end = {part: model.loss(model(data.X[rows]), data.y[rows]).item()
              for part, rows in (("training", slice(0, 1000)),
                                 ("validation", slice(1000, None)))}
history = trainer.history
print("mean over the last epoch:", f"{history['train_loss'][-1]:.4f}")
print("at its end:", {part: round(v, 4) for part, v in at_end.items()})
assert history["train_loss"][-1] > 2 * at_end["training"]
assert abs(at_end["training"] / at_end["validation"] - 1) < 0.15

# %% tags=["slide"]
def parameters(model):
    """The three parameters of the model, without their graph: (3,)."""
    return torch.cat([model.w.detach().ravel(), model.b.detach()])

errors = theta_true - parameters(model)  # (3,)
print("      true  trained    error  predicted")
for name, t, e, p in zip(("w1", "w2", "b"), theta_true, errors, predicted):
    print(f"{name:2}{t:8.2f}{t - e:9.3f}{e:9.3f}{p:11.3f}")

# %%
# check 3.4-C1: the errors have the predicted signs and sizes
assert 0 < errors[0] < 0.25
assert -0.4 < errors[1] < 0
assert 0.1 < errors[2] < 0.35

# %%
# check 3.4-C2: each error is about 0.0537 of the true value
fractions = errors / theta_true
assert 0.01 < fractions.min() and fractions.max() < 0.12
for value in (fractions.mean(), fractions[2]):  # b scatters least
    assert abs(value - 0.0537) < 0.012

# %%
# check 3.4-C5: the trainer counted 96 batches of each kind in 3 epochs
assert trainer.train_batch_idx == 96 and trainer.val_batch_idx == 96
val_loss = trainer.history["val_loss"]
assert len(val_loss) == 3
assert val_loss[0] > val_loss[1] > val_loss[2]

# %% [markdown]
# The errors are not noise, although they look like it in a table.
# They come from training that has not finished, and they have the predicted size and sign.
# To watch it happen, we let a subclass of the model note its parameters before each step, and train it without a board.

# %%
class Recorder(LinearRegressionScratch):
    """Keeps the parameters before each step in `path`."""

    def training_step(self, batch):
        self.path = getattr(self, "path", []) + [parameters(self)]
        return super().training_step(batch)

def train(model, max_epochs=3, seed=0):
    """Fit quietly to data and batches drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    data = SyntheticRegressionData(w_true, b_true, generator=generator)
    model.board.display = False
    trainer = Trainer(max_epochs)
    trainer.fit(model, data)
    return trainer

# %%
torch.manual_seed(0)
recorder = Recorder(2, lr)
train(recorder)
path = torch.stack(recorder.path)  # (96, 3)

# %% tags=["hide-input"]
t = torch.arange(len(path))
fig, ax = plt.subplots(figsize=(6, 3))
for j, name in enumerate(("$w_1$", "$w_2$", "$b$")):
    target = theta_true[j].item()
    ax.plot(t, path[:, j], color=f"C{j}")
    ax.plot(t, target * (1 - (1 - lr) ** t), "k:", linewidth=1.2)
    ax.axhline(target, color=f"C{j}", ls="--", linewidth=1)
    ax.text(97, target, f"{name} true", va="center")
ax.plot([], [], "k:", linewidth=1.2,
        label=r"prediction $(1-0.97^t)\,\theta^*$")
ax.set(xlabel="step $t$", ylabel="parameter", xlim=(0, 96))
ax.legend(loc="center right", bbox_to_anchor=(1, 0.4))
d2l.describe(ax, "Three curves start at 0 and bend towards the true values "
             "2, -3.4 and 4.2, following dotted predictions closely. After "
             "96 steps each still falls short of its dashed target.")

# %% [markdown]
# **Figure 3.4.4.** Each parameter creeps towards its true value along the predicted curve and, after 96 steps, has not arrived.

# %% [markdown]
# A subclass can watch the loop as well as the parameters.
# The next one asserts in every step that the trainer has put it into the right mode; a loop that forgot `eval()` or `inference_mode()` would stop here.
# It also shows what a trainer does that is asked to clip before Section 9.5.

# %%
class Watchful(LinearRegressionScratch):
    def training_step(self, batch):
        assert self.training and torch.is_grad_enabled()
        return super().training_step(batch)

    def validation_step(self, batch):
        assert not self.training and torch.is_inference_mode_enabled()
        super().validation_step(batch)

train(Watchful(2, lr), max_epochs=2)
watchful = Watchful(2, lr)
before = parameters(watchful).clone()
try:
    Trainer(1, gradient_clip_val=1).fit(watchful, data)
    raise AssertionError("clipping is not there yet")
except NotImplementedError as error:
    print("NotImplementedError:", error)
assert watchful.w.grad is not None  # asked to clip after backward ...
assert torch.equal(parameters(watchful), before)  # ... and before step

# %% [markdown]
# One run could agree by luck.
# We repeat it with other data, other starts and other orders of the batches, and look at the fraction of each parameter that is missing.

# %%
missing, starts = torch.zeros(num_seeds, 3), set()
for seed in range(num_seeds):
    torch.manual_seed(seed)
    model = LinearRegressionScratch(2, lr)
    starts.add(model.w[0].item())
    train(model, seed=seed)
    missing[seed] = (theta_true - parameters(model)) / theta_true
assert 0.01 < missing.min() and missing.max() < 0.12
assert len(starts) == num_seeds  # another start in each run

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.4))
spread = torch.linspace(-0.25, 0.25, num_seeds)  # no dots coincide
for j in range(3):
    ax.scatter(missing[:, j], 2 - j + spread, s=14, color=f"C{j}")
ax.axvline((1 - lr) ** steps, color="black", ls="--")
ax.text((1 - lr) ** steps + 0.001, 2.62, "$0.97^{96}$", va="center")
ax.set(xlim=(0, 0.12), ylim=(-0.5, 2.85), yticks=range(3),
       yticklabels=["$b$", "$w_2$", "$w_1$"],
       xlabel="fraction of the parameter that is missing after 96 steps")
d2l.describe(ax, "Three clouds of dots, one dot for each run, all centred "
             "on the dashed line at 0.97 to the power 96. The cloud of b is "
             "narrower than those of w1 and w2.")

# %% [markdown]
# **Figure 3.4.5.** The missing fraction in runs with different random numbers: the prediction is the centre of all three clouds.
#
# The clouds have a width because the data are a sample.
# To first order an epoch acts like 32 steps with $\mathbf{H}=\frac1n\tilde{\mathbf{X}}^\top\tilde{\mathbf{X}}$ of all $n=1000$ examples, and the entries of $\mathbf{H}$ scatter about those of $\mathbf{I}$: with variance $\frac1n$ off the diagonal, $\frac2n$ for a weight, and 0 for the bias, whose feature is always 1.
# After $t$ steps, the missing fraction of parameter $j$ should scatter with a standard deviation of about $t\eta\,(1-\eta)^{t-1}\sqrt{v_j/n}\,/\,|\theta_j^*|$, where $v_j$ is the sum of the squares of the other two parameters, plus $2(\theta_j^*)^2$ for a weight.
# It is smallest for the bias, which is the largest parameter and lacks the second term.

# %%
squares = theta_true.square()
v = squares.sum() - squares + torch.tensor([2, 2, 0]) * squares
width = (steps * lr * (1 - lr) ** (steps - 1) * (v / 1000).sqrt()
         / theta_true.abs())
print("predicted widths:", [round(x, 4) for x in width.tolist()])
print("measured:        ",
      [round(x, 4) for x in missing.std(dim=0).tolist()])

# %%
centre = missing.mean(dim=0)
assert (centre - (1 - lr) ** steps).abs().max() < 0.02
if num_seeds >= 20:  # a spread needs more than a few runs
    assert (centre - (1 - lr) ** steps).abs().max() < 0.006
    assert (missing.std(dim=0) / width - 1).abs().max() < 0.35
g = torch.Generator().manual_seed(0)
A = torch.randn(4000, 1000, 3, generator=g)  # 4000 data sets, full batches
A[..., 2] = 1
left = torch.linalg.matrix_power(torch.eye(3) - lr * A.mT @ A / 1000, steps)
spread = (left @ theta_true / theta_true).std(dim=0)
assert (spread / width - 1).abs().max() < 0.05

# %% [markdown]
# ### The loss, and its noise floor
#
# More epochs remove the remaining error.
# What happens to the loss meanwhile?
# For a new example with independent standard normal features, the prediction misses the noise-free label by $\mathbf{e}_t^\top(x_1,x_2,1)$, whose mean square is $\|\mathbf{e}_t\|^2$, and the label itself carries noise of variance $\sigma^2$ that no model can know.
# With (3.4.6) the expected loss after $t$ steps is
#
# $$E[L_t] = \frac12\|\mathbf{e}_t\|^2+\frac{\sigma^2}2 \approx \frac12\|\boldsymbol\theta^*\|^2\,(1-\eta)^{2t}+\frac{\sigma^2}2. \tag{3.4.7}$$
#
# Here $L_t$ is the loss on new examples, $\|\boldsymbol\theta^*\|^2=2^2+3.4^2+4.2^2=33.2$ is the squared length of the true parameter vector, and $\sigma=0.01$ is the standard deviation of the noise.
# Each step multiplies the first term by $(1-\eta)^2=0.97^2\approx0.94$: on a logarithmic axis a straight line.
# The second term is the *noise floor*, $0.01^2/2=5\times10^{-5}$.
# It is an expectation, and a validation set is a sample: with 1000 examples the mean of $\frac12\epsilon^2$ scatters around the floor with a relative standard deviation of $\sqrt{2/1000}\approx4.5\,\%$, so honest losses fall below it nearly as often as above.
# A validation loss *far* below it, say by five such deviations, would point to a wrong loss or a wrong $\sigma$.
# It would not reveal a leak: three parameters fitted to the validation examples themselves lower the loss by only about 0.3 %.

# %%
torch.manual_seed(0)
model = LinearRegressionScratch(2, lr)
model.plot_train_per_epoch = 32  # a point for each batch
trainer = train(model, max_epochs=10)
train_x, train_y = zip(*model.board.data["train_loss"])
val_x, val_y = zip(*model.board.data["val_loss"])

# %% tags=["hide-input"]
x = torch.linspace(0, 10, 200)
start, floor = theta_true.square().sum() / 2, 0.01**2 / 2
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.plot(train_x, train_y, color="C0", linewidth=0.9, label="training batches")
ax.plot(val_x, val_y, "o", color="C1", label="validation")
ax.plot(x, start * (1 - lr) ** (2 * 32 * x) + floor, "k--", linewidth=1.4,
        label=r"prediction, $0.94^t$ and floor")
ax.axhline(floor, color="#555555", ls=":")
ax.text(0.1, floor * 0.9, r"noise floor $\sigma^2/2$", va="top")
ax.set(xlabel="epoch", ylabel="loss", yscale="log", xlim=(0, 10.1),
       ylim=(1e-5, 40))
ax.legend()
d2l.describe(ax, "On a logarithmic axis the loss falls along a straight "
             "line for six epochs, then bends into the horizontal noise "
             "floor. Batches, validation and prediction agree.")

# %% [markdown]
# **Figure 3.4.6.** The loss falls by the predicted factor in each step until only the noise of the labels is left.

# %%
# check 3.4-C3: ten epochs reach the truth and the noise floor
assert (theta_true - parameters(model)).abs().max() < 0.005
assert 4e-5 < trainer.history["val_loss"][-1] < 7e-5

# %%
# check: validation losses of exact solutions scatter around the floor
relative = []
for seed in range(40):
    g = torch.Generator().manual_seed(seed)
    data = SyntheticRegressionData(w_true, b_true, generator=g)
    A = torch.cat([data.X, torch.ones(2000, 1)], dim=1).double()
    exact = torch.linalg.lstsq(A[:1000], data.y[:1000].double()).solution
    r = A[1000:] @ exact - data.y[1000:]
    relative.append((r ** 2 / 2).mean() / floor)
relative = torch.stack(relative)  # (40,)
print(f"{(relative < 1).sum()} of 40 below the floor, lowest "
      f"{relative.min():.2f}, standard deviation {relative.std():.3f}")
assert 0.25 < (relative < 1).double().mean() < 0.6
assert 0.03 < relative.std() < 0.06 and relative.min() > 1 - 5 * 0.045

# %% [markdown]
# ### The learning rate
#
# Formula (3.4.6) also says which learning rates work.
# The error shrinks as long as $|1-\eta|<1$, that is for $0<\eta<2$; at $\eta=1$ the average step lands on the solution at once; beyond 2 each step overshoots by more than it corrects, and the error grows without limit.
# This is the threshold $2/\lambda_{\max}$ of [Section 3.1](01-linear-regression.ipynb) with $\lambda_{\max}=1$.
# Move the slider and compare the run with the prediction.

# %%
rates = [0.003, 0.01, 0.03, 0.1, 0.3, 1, 1.5, 2, 2.5]
losses = {}
for rate in rates:
    torch.manual_seed(0)
    recorder = Recorder(2, rate)
    train(recorder)
    path = torch.stack(recorder.path + [parameters(recorder)]).double()
    error = theta_true - path  # (97, 3)
    losses[rate] = error.square().sum(dim=1) / 2 + floor  # (97,)

# %% tags=["hide-input"]
def draw(fig, eta):
    t, grid = torch.arange(97), torch.logspace(-2.6, 0.42, 300)
    left, right = fig.subplots(1, 2, sharey=True)
    for values in losses.values():
        left.plot(t, values, color="#cccccc", linewidth=1)
    left.plot(t, losses[eta], color="C0", label=f"$\\eta={eta:g}$")
    left.plot(t, start * abs(1 - eta) ** (2 * t) + floor, "k--",
              linewidth=1.2, label="prediction")
    left.set(xlabel="step", ylabel="expected loss", yscale="log",
             ylim=(1e-5, 1e8), xlim=(0, 96))
    left.legend(loc="upper right")
    right.plot(grid, start * abs(1 - grid) ** 192 + floor, "k--",
               linewidth=1.2)
    right.plot(rates, [losses[r][-1].clamp(max=5e7) for r in rates], "o",
               color="#999999")
    right.plot(eta, losses[eta][-1].clamp(max=5e7), "o", color="C0", ms=9)
    right.set(xlabel="learning rate $\\eta$", xscale="log")
    right.set_title("after 96 steps")

d2l.sliders(draw, "Left, the loss over 96 steps for nine learning rates, "
            "one highlighted, with its predicted curve. Right, the loss "
            "after 96 steps over the learning rate: a valley that reaches "
            "the noise floor between about 0.1 and 1.5, with a gentle slope "
            "to the left and a wall at 2.", figsize=(7, 3), eta=rates)

# %% [markdown]
# **Figure 3.4.7.** Too small a learning rate is slow, too large a one explodes; between them lies a wide valley, whose right wall is far steeper than its left.
# The loss for $\eta=2.5$ lies far above the frame.

# %%
# check 3.4-C4: lr=2.5 diverges, lr=1 does not
worst = {}
for rate in (1, 2.5):
    torch.manual_seed(0)
    model = LinearRegressionScratch(2, rate)
    train(model)
    worst[rate] = (theta_true - parameters(model)).abs().max()
assert worst[2.5] > 1e6 and worst[1] < 0.1

# %% [markdown]
# At $\eta=2$ the formula for the average says that the error neither grows nor shrinks, yet the run explodes.
# The curvature $\mathbf{H}_{\mathcal{B}}$ of a small batch fluctuates about its mean, and near the limit the batches with the larger curvature do more harm than the others repair.
# For independent batches of standard normal features the mean square of the error obeys
#
# $$E\|\mathbf{e}_{t+1}\|^2 \le \left((1-\eta)^2+\frac{(d+2)\,\eta^2}{|\mathcal{B}|}\right)E\|\mathbf{e}_t\|^2, \tag{3.4.8}$$
#
# where the second term is the fluctuation, with $d=2$ features and $|\mathcal{B}|=32$.
# The bracket is below 1 for $\eta<2/(1+\frac4{32})\approx1.78$: this, and not 2, is the learning rate up to which the mean square is sure to shrink.
# Many runs with fresh batches show the margin.

# %%
def grown(eta, runs=1000, steps=96):
    """Fraction of runs whose error is above its start, without noise."""
    g = torch.Generator().manual_seed(0)
    e = theta_true.double().repeat(runs, 1)[..., None]  # (runs, 3, 1)
    for _ in range(steps):
        X = torch.randn(runs, 32, 2, generator=g, dtype=torch.float64)
        X = torch.cat([X, torch.ones_like(X[..., :1])], dim=-1)
        e = e - eta * X.mT @ (X @ e) / 32
    length = torch.linalg.vector_norm(e, dim=(1, 2))  # (runs,)
    return (length > theta_true.square().sum().sqrt()).double().mean().item()

fraction = {eta: grown(eta) for eta in (1.7, 1.95, 2)}
print("error above the start after 96 steps:",
      {eta: f"{100 * f:.0f} %" for eta, f in fraction.items()})

# %%
assert losses[2][-1] > 10 * start and losses[1.5][-1] < 1e-2
assert fraction[1.7] == 0 and 0.15 < fraction[1.95] < 0.4
assert fraction[2] > 0.6

# %% [markdown] tags=["slide"]
# ## Three calls and their order
#
# `backward` does not set `grad`, it *adds* to it.
# This is useful when several losses share their parameters, or when one large batch is processed in parts.
# It also means that somebody must clear the gradients between two calls of `backward`.
# Where exactly does not matter: before `backward`, or after `step`.
# Between `backward` and `step` it is fatal, and silent.

# %% tags=["slide"]
def two_steps(*order):
    """Two steps from w = 0 with the three calls in this order."""
    w = torch.zeros(2, 1, requires_grad=True)
    optimizer = SGD([w], lr=0.1)
    for _ in range(2):
        loss = half_squared_error(X @ w, y)
        calls = {"zero": optimizer.zero_grad, "backward": loss.backward,
                 "step": optimizer.step}
        for name in order:
            calls[name]()
    return w.detach()

for order in (("zero", "backward", "step"), ("backward", "step", "zero"),
              ("backward", "zero", "step"), ("backward", "step")):
    length = torch.linalg.vector_norm(two_steps(*order))
    print(f"{', '.join(order):21} -> length of w {length:.3f}")

# %%
good = two_steps("zero", "backward", "step")
assert torch.equal(good, two_steps("backward", "step", "zero"))
assert not two_steps("backward", "zero", "step").any()  # learned nothing
assert not torch.allclose(good, two_steps("backward", "step"))

# %% [markdown]
# What does training look like without `zero_grad`?
# The parameters then move by the *sum* of all gradients so far, which acts like a speed that nothing slows down.
# Put $\mathbf{H}_{\mathcal{B}}=\mathbf{I}$ again: the speed changes by $-\eta$ times the distance from the goal, which is the law of a spring.
#
# $$\mathbf{e}_{t+1} = \mathbf{e}_t-\eta\,\mathbf{v}_t,\qquad \mathbf{v}_t = \mathbf{v}_{t-1}+\mathbf{e}_t,\qquad \mathbf{v}_{-1} = \mathbf{0}, \tag{3.4.9}$$
#
# where $\mathbf{e}_t$ is the error and $\mathbf{v}_t$ the sum of all errors so far, both with 3 entries.
# A spring without friction swings forever, here with a period of about $2\pi/\sqrt\eta\approx36$ steps and as far beyond the goal as it started before it.

# %%
class ForgetfulSGD(SGD):
    def zero_grad(self):
        pass

class Forgetful(Recorder):
    def configure_optimizers(self):
        return ForgetfulSGD([self.w, self.b], self.lr)

paths = {}
for cls in (Recorder, Forgetful):
    torch.manual_seed(0)
    model = cls(2, lr)
    train(model, max_epochs=5)
    paths[cls] = torch.stack(model.path)  # (160, 3)

# %%
# check 3.4-C9: without zero_grad the same run ends elsewhere
gap = paths[Forgetful] - paths[Recorder]  # (160, 3)
assert gap[:2].abs().max() == 0  # the first step has nothing to forget
assert gap[-1].abs().max() > 1

# %%
def swing(H, steps=160):
    """The bias under (3.4.9) with H (3, 3) in place of the identity."""
    e, v, path = theta_true, torch.zeros(3), []
    for _ in range(steps):
        path.append(b_true - e[2].item())
        v = v + H @ e
        e = e - lr * v
    return path

spring = swing(torch.eye(3))

# %% tags=["hide-input"]
ax = d2l.plot(torch.arange(160),
              [paths[Recorder][:, 2], paths[Forgetful][:, 2],
               torch.tensor(spring)],
              xlabel="step", ylabel="bias $b$", fmts=("-", "-", "k:"),
              xlim=(0, 160))
ax.legend(ax.lines, ["with zero_grad", "without", "spring (3.4.9)"],
          loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
ax.axhline(b_true, color="#777777", ls="--", linewidth=1)
d2l.describe(ax, "With zero_grad the bias rises smoothly to the true value "
             "4.2. Without it the bias swings between about -1 and 9.6 with "
             "the spring's period of about 36 steps and a changing height.")

# %% [markdown]
# **Figure 3.4.8.** Without `zero_grad` the bias swings about its true value like a spring without friction.

# %%
def peaks(values):
    """Steps at which a list has a local maximum above the true bias."""
    return [t for t in range(2, len(values) - 2)
            if values[t] == max(values[t - 2:t + 3]) > b_true]

measured = paths[Forgetful][:, 2].tolist()
assert len(peaks(spring)) == len(peaks(measured)) == 4
for values in (spring, measured):
    period = (peaks(values)[-1] - peaks(values)[0]) / 3
    assert abs(period - 2 * math.pi / math.sqrt(lr)) < 1.5

# %% [markdown]
# The height of the swing changes: it grows in this run and shrinks with some other seeds.
# Full batches with the $\mathbf{H}$ of the data already change it, while $\mathbf{H}=\mathbf{I}$, the dotted spring, keeps its height.
# An $\mathbf{H}$ that is not exactly $\mathbf{I}$ couples the springs weakly and gives them slightly different periods; they pass energy to and fro.
# Small batches, whose $\mathbf{H}_{\mathcal{B}}$ differs from step to step, change the height once more: with one of the three seeds checked below it grows, although full batches make it shrink.
# The loss curve of such a run invites the wrong cure, a smaller learning rate, which makes the swing slower and does not end it.
# Adding a little friction turns the fault into a method called *momentum*, the subject of Section 12.6.

# %% tags=["hide-input"]
# check: the height of the swing, in runs and with full batches
def growth(values):
    """The last peak over the first, measured from the true bias."""
    tops = [values[t] - b_true for t in peaks(values)]
    return tops[-1] / tops[0]

def forgetful(seed, lr=lr, max_epochs=5):
    torch.manual_seed(seed)
    model = Forgetful(2, lr)
    train(model, max_epochs, seed)
    return torch.stack(model.path)[:, 2].tolist()

assert abs(growth(spring) - 1) < 0.01
heights = {}  # with small batches and with full ones
for seed in (0, 1, 2):
    g = torch.Generator().manual_seed(seed)
    A = torch.cat([SyntheticRegressionData(w_true, b_true, generator=g)
                   .X[:1000], torch.ones(1000, 1)], dim=1)  # (1000, 3)
    heights[seed] = [growth(values) for values in (
        forgetful(seed), swing(A.mT @ A / 1000))]
    slow = forgetful(seed, lr / 4, max_epochs=10)
    assert growth(slow) > 0.7  # not ended, and twice as slow
    assert abs(peaks(slow)[0] - 2 * peaks(spring)[0]) <= 2
assert min(heights[0]) > 1.05 and max(heights[2]) < 0.9
assert heights[1][0] > 1.03 and heights[1][1] < 0.97  # other batches

# %% [markdown]
# One more point about order: the update must run under `no_grad`; `backward` need not.
# The graph is built in the forward pass, so `backward` works inside `no_grad` as well, as long as the loss was computed outside.

# %%
w = torch.ones(2, 1, requires_grad=True)
loss = half_squared_error(X @ w, y)
with torch.no_grad():
    loss.backward()
assert w.grad.abs().min() > 0

# %% [markdown]
# ## Parameters that are not registered
#
# Our `w` and `b` are plain tensors.
# `nn.Module` does not look for such tensors; it keeps a list of those attributes that are of type `nn.Parameter`, and its services work on that list.
# For our model the list is empty.

# %% tags=["slide"]
torch.manual_seed(0)
model = LinearRegressionScratch(2, lr)
model.double()  # convert all parameters to float64
print("registered:", list(model.parameters()),
      " to save:", dict(model.state_dict()), " w is", model.w.dtype)

# %% [markdown]
# `state_dict` saves nothing, and `double` or `to(device)` convert nothing, both without a message: on an accelerator, the model would stay behind on the CPU.
# Our optimizer works only because we handed it the two tensors by name; PyTorch's, given `model.parameters()`, finds nothing to train and says so.

# %%
try:
    torch.optim.SGD(model.parameters(), lr)
    raise AssertionError("an empty list of parameters should be rejected")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# The cure is to wrap each tensor in `nn.Parameter`.

# %%
class Registered(LinearRegressionScratch):
    """The same model, known to nn.Module."""

    def __init__(self, num_inputs, lr, sigma=0.01):
        super().__init__(num_inputs, lr, sigma)
        self.w = nn.Parameter(self.w.detach())
        self.b = nn.Parameter(self.b.detach())

registered = Registered(2, lr).double()
print([name for name, _ in registered.named_parameters()],
      registered.w.dtype)

# %%
# check 3.4-C8: plain tensors are not registered, nn.Parameter is
assert list(model.parameters()) == [] and len(model.state_dict()) == 0
assert model.w.dtype == torch.float32
assert len(list(registered.parameters())) == 2
assert len(registered.state_dict()) == 2
assert registered.w.dtype == torch.float64

# %% [markdown]
# We keep plain tensors here to show that training needs no more than tensors and their gradients.
# The layers of [Section 3.5](05-linear-regression-concise.ipynb) register their parameters themselves.
#
# ## Parameters or predictions
#
# We could compare parameters with the truth because only one parameter vector fits these data.
# That need not be so.
# If one feature is a copy of another, $w_1x_1+w_2x_1=(w_1+w_2)x_1$ fixes only the sum, and gradient descent leaves the difference $w_1-w_2$ where it started.

# %%
X_twin = X_all[:, [0, 0]]  # (1000, 2): the same feature twice
y_twin = X_twin @ w_true.reshape(-1, 1) + b_true
predictions, sums, gaps = [], [], []
for seed in (0, 1):
    torch.manual_seed(seed)
    model = LinearRegressionScratch(2, lr=0.1, sigma=1)
    optimizer, first = model.configure_optimizers(), parameters(model)
    for _ in range(300):
        loss = model.loss(model(X_twin), y_twin)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predictions.append(model(X_twin).detach())
    w1, w2, b = parameters(model).tolist()
    sums.append(w1 + w2)
    gaps.append(w1 - w2)
    assert abs(gaps[-1] - (first[0] - first[1])) < 1e-4  # as at the start
    print(f"start {seed}: w1 {w1:6.3f}, w2 {w2:6.3f}, sum {w1 + w2:.3f}")
torch.testing.assert_close(*predictions, rtol=0, atol=1e-4)
assert all(abs(total + 1.4) < 1e-3 for total in sums)
assert abs(gaps[0] - gaps[1]) > 0.5

# %% [markdown]
# Two runs, two different answers, and the same predictions.
# Neither recovers $(2,-3.4)$; both recover the sum $-1.4$.
# With features that are nearly rather than exactly dependent the difference is not free, but it is learned slowly, and noise blurs it most.
# In networks with hidden layers the parameters are not unique either, since hidden units can change places; what counts is whether the predictions are right.
# Comparing parameters is for tests like ours.

# %% [markdown]
# ## Summary
#
# - After $t$ steps at learning rate $\eta$ the fraction $(1-\eta)^t$ of the error is left when features are standardized and uncorrelated: the remaining error of a short run is predictable, not random.
# - The expected loss falls by $(1-\eta)^2$ in each step down to the noise floor $\sigma^2/2$; measured on 1000 examples, an honest validation loss lies within a few times 4.5 % of it, below as well as above.
# - Noise of the batches lowers the learning rate up to which the mean square error is sure to shrink, here from 2 to about 1.78.
# - Labels of shape $(n,)$ against predictions of shape $(n,1)$ compare all pairs and train the constant $\bar y$; a loss should reject them.
# - `backward` adds to gradients: without `zero_grad` the parameters swing like a spring, and with `zero_grad` between `backward` and `step` they never move.
# - Only `nn.Parameter` attributes are registered; plain tensors train, but are neither saved nor moved.
# - Where features are linearly dependent, predictions are determined and parameters are not.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 3.4-1
#
# What happens if all weights start at zero?
# And if they are drawn with standard deviation 1000?
# Predict the errors after 96 steps in both cases before you run them.

# %% [markdown]
# #### Solution 3.4-1

# %% [markdown]
# Formula (3.4.6) holds for any start: what is left is about $0.97^{96}\approx0.0537$ times the *initial* error.
# From zero the initial error is $\boldsymbol\theta^*$, as before.
# From a start with entries near 1000 it is near 1000 too, and after three epochs the weights are still wrong by tens; 20 epochs bring every error below 0.005.
# The problem is convex, so the start costs time, not success.

# %%
for sigma in (0, 1000):
    torch.manual_seed(0)
    model = LinearRegressionScratch(2, lr, sigma)
    before = theta_true - parameters(model)
    train(model)
    after = theta_true - parameters(model)
    before, after = torch.linalg.vector_norm(
        torch.stack((before, after)), dim=1).tolist()
    fraction = after / before
    print(f"sigma {sigma:4}: error {before:8.2f} -> "
          f"{after:6.2f}, fraction {fraction:.3f}")
    assert 0.01 < fraction < 0.12

# %%
torch.manual_seed(0)
model = LinearRegressionScratch(2, lr, sigma=1000)
train(model, max_epochs=20)
assert (theta_true - parameters(model)).abs().max() < 0.005

# %% [markdown]
# ### Exercise 3.4-2
#
# How many epochs are needed until all three errors are below 0.01?
# Predict the number, then measure it for several seeds.

# %% [markdown]
# #### Solution 3.4-2

# %% [markdown]
# The largest error is that of $b$, which starts at 4.2.
# After $k$ epochs of 32 steps it is $4.2\cdot0.97^{32k}$, and this is below 0.01 when
#
# $$k > \frac{\log(4.2/0.01)}{-32\log0.97} \approx 6.2, \tag{3.4.10}$$
#
# where $k$ is the number of epochs; so after 7.

# %%
def epochs_needed(seed, tolerance=0.01):
    torch.manual_seed(seed)
    recorder = Recorder(2, lr)
    train(recorder, max_epochs=10, seed=seed)
    ends = torch.stack(recorder.path[32::32] + [parameters(recorder)])
    close = (theta_true - ends).abs().amax(dim=1) < tolerance  # (10,)
    return close.tolist().index(True) + 1

k = math.ceil(math.log(4.2 / 0.01) / (-32 * math.log(0.97)))
measured = [epochs_needed(seed) for seed in range(5)]
print("predicted", k, " measured", measured)
assert k == 7 and all(6 <= m <= 8 for m in measured)

# %% [markdown]
# ### Exercise 3.4-3
#
# Set the label of training example 5 to 10000, a slip of the decimal point, and train for 10 epochs with the squared loss, with the absolute loss $|\hat y-y|$ and with the Huber loss, which is quadratic for errors below 1 and linear above.
# Which bias does each find, and why?

# %% [markdown]
# #### Solution 3.4-3

# %% [markdown]
# The gradient of the squared loss is proportional to the error.
# Once in each epoch the wrong label pulls $b$ by about $\eta\cdot10000/32\approx9.4$, and the following steps, each removing 3 % of the error, bring it back only in part: on average $b$ is off by about 10, the share of one example in 1000.
# The gradients of the other two losses are bounded by 1: the wrong label counts as one vote among 32.

# %%
class AbsoluteLoss(LinearRegressionScratch):
    def loss(self, y_hat, y):
        return (y_hat - y).abs().mean()

class HuberLoss(LinearRegressionScratch):
    def loss(self, y_hat, y):
        r = (y_hat - y).abs()
        return torch.where(r < 1, r**2 / 2, r - 0.5).mean()

r = torch.linspace(-3, 3, 9)
torch.testing.assert_close(HuberLoss(2, lr).loss(r, 0 * r),
                           nn.HuberLoss()(r, 0 * r))
bias = {}
for cls in (LinearRegressionScratch, AbsoluteLoss, HuberLoss):
    g = torch.Generator().manual_seed(0)
    data = SyntheticRegressionData(w_true, b_true, generator=g)
    data.y[5] = 10_000
    torch.manual_seed(0)
    model = cls(2, lr)
    model.board.display = False
    Trainer(max_epochs=10).fit(model, data)
    bias[cls] = model.b.item() - b_true
    print(f"{cls.__name__:24} error of b {bias[cls]:7.3f}")

# %%
assert 3 < bias[LinearRegressionScratch] < 20
assert abs(bias[AbsoluteLoss]) < 0.1 and abs(bias[HuberLoss]) < 0.1
A = torch.cat([data.X[:1000], torch.ones(1000, 1)], dim=1).double()
exact = torch.linalg.lstsq(A, data.y[:1000].double()).solution[2] - b_true
assert abs(exact - 10) < 1  # where squared loss would settle

# %% [markdown]
# ### Exercise 3.4-4
#
# Ohm's law says $U=RI$: voltage is resistance times current.
# Simulate 200 measurements at a resistor of 47 Ω with currents between 0 and 0.1 A, noise of 0.05 V on the voltage and no validation data, and estimate $R$ by training.
# What goes wrong at first, and how do you fix it?

# %% [markdown]
# #### Solution 3.4-4

# %% [markdown]
# With currents in ampere the feature is tiny: the mean of $I^2$ is about 0.0033, so a step removes only the fraction $\eta\cdot0.0033\approx0.0001$ of the error of $R$, and the 700 steps of 100 epochs do not get far.
# The bias, whose feature is 1, meanwhile learns the mean voltage.
# Standardizing the feature makes its curvature 1, and (3.4.6) applies: 100 epochs are plenty.
# The resistance is the weight divided by the scale of the feature.

# %%
class Measurements(DataModule):
    def __init__(self, X, y, batch_size=32):
        super().__init__()
        self.save_hyperparameters()
        self.generator = torch.Generator().manual_seed(1)

    def get_dataloader(self, train):
        if not train:
            return None  # nothing to validate on
        return self.get_tensorloader((self.X, self.y), train)

g = torch.Generator().manual_seed(0)
current = 0.1 * torch.rand(200, 1, generator=g)  # ampere
voltage = 47 * current + 0.05 * torch.randn(200, 1, generator=g)  # volt
scale = current.std()
resistance, bias = {}, {}
for name, X_I, unit in (("raw", current, 1), ("standardized",
                        (current - current.mean()) / scale, scale)):
    torch.manual_seed(0)
    model = LinearRegressionScratch(1, lr)
    model.board.display = False
    trainer = Trainer(max_epochs=100)
    trainer.fit(model, Measurements(X_I, voltage))
    resistance[name] = (model.w / unit).item()
    bias[name] = model.b.item()
    print(f"{name:13} R = {resistance[name]:.2f} ohm")
assert "val_loss" not in trainer.history and trainer.val_batch_idx == 0
assert abs(resistance["standardized"] / 47 - 1) < 0.02
assert resistance["raw"] < 0.05 * 47
assert abs(bias["raw"] - voltage.mean()) < 0.1

# %% [markdown]
# ### Exercise 3.4-5
#
# The trainer weights the loss of each batch by its number of examples.
# Suppose that it averaged the 32 batch losses without weights.
# By which factor would an example in the last batch, which has 8, count more than one in another batch?
# Show it with numbers.

# %% [markdown]
# #### Solution 3.4-5

# %% [markdown]
# In the unweighted mean every batch has weight $\frac1{32}$, so an example in a batch of 32 has weight $\frac1{32}\cdot\frac1{32}$ and one in the last batch $\frac1{32}\cdot\frac18$: four times as much.
# To see it, let the loss be 1 for a single example and 0 for all others.

# %%
def unweighted(losses):
    return torch.stack([part.mean() for part in losses.split(32)]).mean()

weights = []
for i in (0, 999):  # an example of the first and one of the last batch
    losses_i = torch.zeros(1000, dtype=torch.float64)
    losses_i[i] = 1
    weights.append(unweighted(losses_i))
assert weights[1] / weights[0] == 4

# %%
torch.manual_seed(0)
model = LinearRegressionScratch(2, lr=0)  # the parameters stand still
trainer = train(model, max_epochs=1)
data = SyntheticRegressionData(w_true, b_true,
                               generator=torch.Generator().manual_seed(0))
for part, rows in (("train", slice(0, 1000)), ("val", slice(1000, None))):
    with torch.inference_mode():  # the mean over all examples
        exact = model.loss(model(data.X[rows]), data.y[rows]).item()
    measured = trainer.history[part + "_loss"][0]
    assert math.isclose(measured, exact, rel_tol=1e-5)

# %% [markdown]
# ## Sources
#
# - H. Robbins, S. Monro (1951). A stochastic approximation method. Annals of Mathematical Statistics 22(3). [doi:10.1214/aoms/1177729586](https://doi.org/10.1214/aoms/1177729586): stochastic approximation, from which stochastic gradient descent comes.
# - L. Bottou, F. E. Curtis, J. Nocedal (2018). Optimization methods for large-scale machine learning. SIAM Review 60(2). [doi:10.1137/16M1080173](https://doi.org/10.1137/16M1080173): its convergence, and the part that noise plays.
# - G. Goh (2017). Why momentum really works. Distill. [doi:10.23915/distill.00006](https://doi.org/10.23915/distill.00006): gradient descent on a quadratic, with and without friction.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). [Dive into Deep Learning](https://d2l.ai/chapter_linear-regression/linear-regression-scratch.html), Section 3.4: the experiment that this section predicts.
# - PyTorch documentation, [autograd mechanics](https://docs.pytorch.org/docs/stable/notes/autograd.html): leaves, accumulation, `no_grad` and `inference_mode`.
