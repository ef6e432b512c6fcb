# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         num_gpus: 1
#       smoke:
#         train_size: 3000
#         max_epochs: 2
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
# # 4.4 Softmax regression from scratch
#
# What does it take to turn pixels into the name of a garment?
# This section writes the model, its loss and its predictions with tensors and automatic differentiation only, trains it in a few seconds, and then looks at the weights, at the errors, and at whether the probabilities can be believed.
#
# **You will**
#
# - implement softmax, cross-entropy and the model, and predict the loss before the first step;
# - tell noise from instability: why a validation curve jitters, and why some learning rates fail;
# - read the weights of a linear classifier as pictures, and its errors from a table;
# - measure whether predicted probabilities agree with the frequencies of what happens.
#
# **Cost**: about half a minute on a CPU, no GPU needed; a download of 31 MB, once.

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, bayes_decision, confusion_matrix, one_hot,
    predict)
from d2l_helpers.chapters.linear_regression import (Timer, Trainer,
                                                    add_to_class)

d2l.use_style()

# %% tags=["parameters"]
train_size = 60_000  # training images of the main run
max_epochs = 10
num_gpus = 0

# %% [markdown]
# ![From left to right: an image of shape (1, 28, 28) is flattened to 784 pixels; multiplied by W of shape (784, 10) and shifted by b they give 10 scores of either sign; softmax turns them into 10 probabilities with sum 1; the label y picks one of them, and the loss is minus its logarithm, a number.](img/softmax-computation.svg)
#
# **Figure 4.4.1.** Everything that happens to one image, with the shapes.
# A batch of $n$ images has one more axis in front of each.

# %% [markdown]
# ## Sums along an axis
#
# The denominator of a softmax is a sum over classes, one for each example, so we need sums along one axis of a matrix.
# `X.sum(dim=0)` adds up the rows and leaves one number for each column; `X.sum(dim=1)` adds up the columns.
# The axis that was summed disappears, unless `keepdim=True` keeps it with length 1.
# That is needed when the sum is to be combined with the matrix again: $(2,3)$ divided by $(2,1)$ broadcasts each sum along its row, whereas $(2,3)$ divided by $(2,)$ is an error or, worse, for square matrices a division along the wrong axis.

# %%
# check 4.4-C1: sums of columns and rows with their shapes
X = torch.tensor([[1.0, 2, 3], [4, 5, 6]])  # (2, 3)
columns = X.sum(dim=0, keepdim=True)  # (1, 3)
rows = X.sum(dim=1, keepdim=True)  # (2, 1)
print(columns, rows, sep="\n")
assert columns.tolist() == [[5, 7, 9]] and rows.tolist() == [[6], [15]]
assert (X / rows).shape == (2, 3)

# %% [markdown]
# A square matrix shows the danger.
# Both divisions below run; only the first normalizes the rows.

# %%
S = torch.tensor([[1.0, 3], [1, 0]])  # rows with different sums
right, wrong = S / S.sum(dim=1, keepdim=True), S / S.sum(dim=1)
print("row sums, keepdim:", right.sum(dim=1).tolist(),
      " without:", wrong.sum(dim=1).tolist())
assert right.sum(dim=1).tolist() == [1, 1]
assert wrong.sum(dim=1).tolist() != [1, 1]

# %% [markdown]
# ## The softmax
#
# [Section 4.1](01-softmax-regression.ipynb) derived how scores become probabilities.
# For a matrix of scores, one row for each example,
#
# $$\operatorname{softmax}(\mathbf{X})_{ij} = \frac{\exp X_{ij}}{\sum_k\exp X_{ik}}, \tag{4.4.1}$$
#
# where $X_{ij}$ is the score of class $j$ for example $i$, the sum runs over the $q$ classes $k$, and the result has the shape $(n,q)$ of $\mathbf{X}$.
# The computation has three steps: take the exponential of each entry; sum each row, which gives the *partition function* of the example; divide each row by its sum.

# %%
def softmax(X):
    """Probabilities (n, q) from scores (n, q), row by row."""
    X_exp = torch.exp(X)
    partition = X_exp.sum(dim=1, keepdim=True)  # (n, 1)
    return X_exp / partition  # broadcast along each row

# %%
# check 4.4-C2: rows are distributions, equal to those of PyTorch
generator = torch.Generator().manual_seed(0)
O = torch.randn(100, 10, generator=generator)
P = softmax(O)
assert (P > 0).all()
torch.testing.assert_close(P.sum(dim=1), torch.ones(100))
torch.testing.assert_close(P, torch.softmax(O, dim=1), rtol=0, atol=1e-6)

# %% [markdown]
# The formula is right, the code is not safe.
# `float32` cannot hold numbers beyond about $3\cdot10^{38}\approx e^{88.7}$.
# A score of 100 overflows to infinity, and infinity divided by infinity is `nan`, not a number.
# If all scores are very negative, all exponentials become 0, and so does the partition function: again `nan`.

# %%
# check 4.4-C10: a score of 100, or all scores below -104, give nan
large = torch.tensor([[100.0, 0, 0]])
tiny = torch.tensor([[-105.0, -106, -107]])
print(softmax(large), softmax(tiny), sep="\n")
assert softmax(large)[0, 0].isnan()
assert softmax(tiny).isnan().all()
assert softmax(torch.tensor([[80.0, 0, 0]])).isfinite().all()

# %% [markdown]
# Our model starts with scores near 0 and keeps them moderate, so we carry on with the simple version.
# [Section 4.5](05-softmax-regression-concise.ipynb) removes the weakness for good, and Exercise 4.4-1 does half of it.

# %% [markdown]
# ## The model
#
# A picture has $28\times28=784$ pixels.
# A linear model takes a vector, so each picture is flattened, row after row.
# The model then knows nothing about which pixels are neighbours: the same permutation of the pixels of all pictures would only permute its weights.
# Convolutional networks, Chapter 7, use this knowledge.
#
# $$\hat{\mathbf{Y}} = \operatorname{softmax}(\mathbf{X}\mathbf{W}+\mathbf{b}). \tag{4.4.2}$$
#
# $\mathbf{X}$ of shape $(n,784)$ holds the flattened pictures of a batch, $\mathbf{W}$ of shape $(784,10)$ the weights, one column per class, $\mathbf{b}$ of shape $(10,)$ the biases, and $\hat{\mathbf{Y}}$ of shape $(n,10)$ the probabilities.
# The weights start as draws from $\mathcal{N}(0,0.01^2)$, the biases at 0.
#
# [Section 3.4](../03-linear-regression/04-linear-regression-scratch.ipynb) ended with a trap: `nn.Module` does not know attributes that are plain tensors.
# The default optimizer of `Classifier` asks for `parameters()`, so we wrap both tensors in `nn.Parameter`, which registers them and sets `requires_grad`.
# (The other way is to override `parameters` so that it returns the plain tensors; then `state_dict` and `to(device)` still miss them.)

# %%
class Unregistered(Classifier):
    def __init__(self, lr):
        super().__init__()
        self.save_hyperparameters()
        self.W = torch.zeros(784, 10, requires_grad=True)

try:
    Unregistered(lr=0.1).configure_optimizers()
    raise AssertionError("a model without parameters has an optimizer")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# The class below returns probabilities.
# From [Section 4.5](05-softmax-regression-concise.ipynb) on, models return scores, and the loss does the rest.
# `flatten(1)` keeps the first axis.
# The usual alternative `X.reshape(-1, 784)` also accepts four pictures of $14\times14$ pixels and silently glues them into one row.

# %% tags=["export"]
class SoftmaxRegressionScratch(Classifier):
    """Softmax regression; the outputs are probabilities (n, q)."""

    def __init__(self, num_inputs, num_outputs, lr, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        W = torch.normal(0.0, sigma, (num_inputs, num_outputs))
        self.W = nn.Parameter(W)  # (d, q)
        self.b = nn.Parameter(torch.zeros(num_outputs))  # (q,)

    def forward(self, X):
        X = X.flatten(1)  # (n, ...) -> (n, d)
        return softmax(X @ self.W + self.b)  # (n, q)

# %%
# check 4.4-C5: the number of parameters, and what the optimizer sees
torch.manual_seed(0)
model = SoftmaxRegressionScratch(784, 10, lr=0.1)
count = sum(p.numel() for p in model.parameters())
print("parameters:", count, {k: tuple(v.shape)
                             for k, v in model.named_parameters()})
assert count == 784 * 10 + 10 == 7850
assert sum(p.numel() for group in model.configure_optimizers().param_groups
           for p in group["params"]) == 7850

# %%
X = torch.rand(4, 1, 14, 14, generator=generator)
assert X.reshape(-1, 784).shape == (1, 784)  # four pictures became one
try:
    model(X)
    raise AssertionError("pictures of the wrong size were accepted")
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# ## The cross-entropy loss
#
# With one-hot labels the cross-entropy of [Section 4.1](01-softmax-regression.ipynb) is a sum over classes in which all terms but one are zero.
# What remains is minus the logarithm of the probability of the true class, averaged over the batch:
#
# $$L = -\frac1n\sum_{i=1}^n\log\hat y^{(i)}_{y^{(i)}}, \tag{4.4.3}$$
#
# where $y^{(i)}\in\{0,\dots,9\}$ is the label of example $i$, used as an index, and $\hat y^{(i)}_k$ the probability that the model gives to class $k$ for this example; all are numbers.
# Instead of multiplying by zeros we pick the one entry of each row that counts, by indexing with two vectors of equal length: `y_hat[[0, 1], [0, 2]]` takes the entries $(0,0)$ and $(1,2)$.

# %%
y_hat = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])  # (2, 3)
y = torch.tensor([0, 2])  # (2,)
print("picked:", y_hat[[0, 1], y])

# %% tags=["export"]
def cross_entropy(y_hat, y):
    """Mean of -log(probability of the true class), a scalar.

    Probabilities y_hat have shape (n, q), integer labels y shape (n,).
    """
    if y.shape != y_hat.shape[:1]:
        raise ValueError(f"probabilities {tuple(y_hat.shape)} need labels "
                         f"of shape ({len(y_hat)},), got {tuple(y.shape)}.")
    rows = torch.arange(len(y_hat), device=y_hat.device)  # (n,)
    return -torch.log(y_hat[rows, y]).mean()

# %% tags=["export"]
@add_to_class(SoftmaxRegressionScratch)
def loss(self, y_hat, y):
    return cross_entropy(y_hat, y)

# %% [markdown]
# In the example the picked probabilities are 0.1 and 0.5, and the loss is $-\frac12(\log0.1+\log0.5)=1.4979$.
# PyTorch's `F.nll_loss`, the *negative log-likelihood* loss, does the same with logarithms of probabilities.

# %%
# check 4.4-C3: picked entries, value, PyTorch's nll_loss
assert torch.equal(y_hat[[0, 1], y], torch.tensor([0.1, 0.5]))
assert abs(cross_entropy(y_hat, y) - 1.4979) < 5e-5
torch.testing.assert_close(cross_entropy(y_hat, y),
                           F.nll_loss(torch.log(y_hat), y))
torch.testing.assert_close(
    cross_entropy(P, P.argmin(dim=1)),
    F.nll_loss(torch.log(P), P.argmin(dim=1)))
try:
    cross_entropy(y_hat, y.unsqueeze(1))  # would pick (2, 2) entries
    raise AssertionError("labels of shape (2, 1) were accepted")
except ValueError as error:
    print(error)

# %% [markdown]
# ### The loss before the first step
#
# The loss of an untrained model can be predicted.
# With all weights at zero every score is 0, every class has probability $\frac1{10}$, and the loss is $\log10\approx2.3026$ on any data.
# All classes tie, `argmax` returns the first of them, and since each class holds a tenth of the test pictures, the accuracy is 0.1.
# With small random weights the loss must lie close to $\log10$.
# The accuracy need not be close to 0.1: a random linear map may happen to answer a few classes nearly always, rightly or wrongly.
# A loss far from $\log10$, or none at all, points to an error such as inputs that were not divided by 255, the last line of the output.

# %%
data = FashionMNIST(batch_size=256, train_size=train_size)
zero = SoftmaxRegressionScratch(784, 10, lr=0.1, sigma=0)
for name, m in (("zero weights", zero), ("random weights", model)):
    y_hat, y = predict(m, data.val_dataloader())  # (10000, 10), (10000,)
    print(f"{name:15} loss {cross_entropy(y_hat, y):.4f}, "
          f"accuracy {m.accuracy(y_hat, y):.4f}")
with torch.no_grad():
    undivided = model.loss(model(255 * data.X_val[:1000]), y[:1000]).item()
print(f"not divided by 255: loss {undivided:.4f}")

# %%
# check 4.4-C4: zero weights give log 10, and class 0 for everyone
y_hat, y = predict(zero, data.val_dataloader())
assert abs(cross_entropy(y_hat, y) - math.log(10)) < 1e-6
assert (y_hat.argmax(dim=1) == 0).all()
assert abs(zero.accuracy(y_hat, y) - 0.1) < 1e-6
y_hat, _ = predict(model, data.val_dataloader())
assert abs(cross_entropy(y_hat, y) - math.log(10)) < 0.1
assert not undivided < math.log(10) + 1

# %% [markdown]
# ## Training
#
# `Trainer` and stochastic gradient descent are those of linear regression.
# The number of epochs, the batch size and the learning rate are *hyperparameters*: they are not learned, but chosen by looking at validation data.
# Here the *test* pictures play the part of the validation data, as in most introductions.
# A choice guided by them spoils them as a test; a serious choice uses `FashionMNIST(holdout=10_000)`, which takes validation pictures from the training part, and touches the test part once at the end.

# %%
torch.manual_seed(0)
model = SoftmaxRegressionScratch(784, 10, lr=0.1)
trainer = Trainer(max_epochs=max_epochs, num_gpus=num_gpus)
trainer.fit(model, data)
model = model.to("cpu")

# %% [markdown]
# **Figure 4.4.2.** Most of the progress is made in the first epoch.
# The training loss falls steadily, while the validation curves jitter.

# %%
print("epoch  train_loss  val_loss  val_acc")
for epoch, row in enumerate(zip(*(trainer.history[key] for key in (
        "train_loss", "val_loss", "val_acc"))), start=1):
    print(f"{epoch:5}{row[0]:12.4f}{row[1]:10.4f}{row[2]:9.4f}")

# %% [markdown]
# Does the start matter?
# [Section 4.1](01-softmax-regression.ipynb) showed that the loss is convex in the weights, so there are no separate valleys to start in, and zeros should be as good as small random numbers *here*.
# (A network with hidden layers must not start at zero, for reasons that Chapter 5 gives.)
# We train once more from zero, with the same order of batches.

# %%
def quiet_fit(data, lr, epochs, sigma=0.01, seed=0):
    """Train without a picture; returns the model and its trainer."""
    torch.manual_seed(seed)
    model = SoftmaxRegressionScratch(784, 10, lr, sigma)
    model.board.display = False
    trainer = Trainer(epochs, num_gpus)
    trainer.fit(model, data)
    return model.to("cpu"), trainer

from_zero, zero_trainer = quiet_fit(data, 0.1, max_epochs, sigma=0)

# %%
# check 4.4-C6: the intervals hold for all 60 000 real images, 10 epochs
history = trainer.history
full_run = (data.source == "real" and train_size == 60_000
            and max_epochs == 10)
assert history["val_loss"][-1] < math.log(10)  # on any data
if full_run:
    assert 0.44 < history["train_loss"][-1] < 0.455
    assert 0.79 < history["val_acc"][-1] < 0.86
    assert history["val_acc"][0] > 0.7
    steps = torch.tensor(history["train_loss"]).diff()  # falls in each epoch
    assert steps.max() < 0 and 2.3 - history["val_loss"][0] > 1.5
    assert abs(history["train_loss"][-1]
               - zero_trainer.history["train_loss"][-1]) < 0.002

# %% [markdown]
# For experiments a part of the data is enough.
# *Small* is the first 10 000 training and the first 2000 test pictures; a run takes a second or two.

# %%
# check 4.4-C7: the intervals hold for Small, real images, 10 epochs
small = FashionMNIST(batch_size=64, train_size=min(train_size, 10_000),
                     val_size=2000)
_, small_trainer = quiet_fit(small, 0.02, max_epochs)
print({k: round(v[-1], 3) for k, v in small_trainer.history.items()})
small_run = (small.source == "real" and train_size >= 10_000
             and max_epochs == 10)
assert small_trainer.history["val_acc"][-1] > 0.2
if small_run:
    assert 0.55 < small_trainer.history["train_loss"][-1] < 0.59
    assert 0.77 < small_trainer.history["val_acc"][-1] < 0.84

# %% [markdown]
# ### Why the validation curve jitters
#
# [Section 3.1](../03-linear-regression/01-linear-regression.ipynb) explained learning rates by curvature: along a direction in which the loss has the second derivative $\lambda$, a step with the exact gradient multiplies the distance from the minimum by $1-\eta\lambda$.
# The distance shrinks as long as $\eta\lambda<2$, although a step overshoots to the other side when $\eta\lambda>1$.
# So below 2 the exact gradient gives no reason to jitter.
#
# The gradient of a minibatch is not exact.
# Let $s^2$ be the variance of the gradient of a single example along the direction; a batch of $B$ has $s^2/B$.
# Each step adds noise of variance $\eta^2s^2/B$ and multiplies the old variance $v$ by $(1-\eta\lambda)^2$.
# The two balance at
#
# $$v = (1-\eta\lambda)^2\,v+\frac{\eta^2s^2}B \qquad\text{so}\qquad v = \frac{\eta\,s^2}{B\,\lambda\,(2-\eta\lambda)}, \tag{4.4.4}$$
#
# where $v$ is the variance of the distance, $\eta$ the learning rate and $B$ the batch size; all are numbers.
# The jitter should therefore grow with the rate, fall with the batch size, and vanish for the full batch.
# The formula also points to a culprit that is easily overlooked.
# 10 000 pictures in batches of 256 leave a last batch of 16, whose gradient has 16 times the variance, and the validation follows right after it.
#
# We test this on Small, at the rate of 0.1, from zero and with three orders of the pictures: batches of 256 with their remainder of 16, batches of 250 without a remainder, and the full batch with as many steps, 40 per epoch, for the first half of the epochs.
# One more run has batches of 256 and a fifth of the rate.

# %%
def val_losses(lr, batch_size, seed):
    """Validation loss after each epoch on Small."""
    small.batch_size = batch_size
    _, run = quiet_fit(small, lr, max_epochs, sigma=0, seed=seed)
    return torch.tensor(run.history["val_loss"])  # (epochs,)


def full_batch(lr, epochs, steps=40):
    """The same with exact gradients, `steps` of them per epoch."""
    model = SoftmaxRegressionScratch(784, 10, lr, sigma=0)
    optim, values = model.configure_optimizers(), []
    for step in range(epochs * steps):
        loss = model.loss(model(small.X_train), small.y_train)
        optim.zero_grad()
        loss.backward()
        optim.step()
        if step % steps == steps - 1:
            with torch.no_grad():
                values.append(model.loss(model(small.X_val), small.y_val))
    return torch.stack(values)


def rises(values):
    """Sum of all increases from one epoch to the next."""
    return values.diff().clamp(min=0).sum().item()

# %%
curves = {B: [val_losses(0.1, B, seed) for seed in range(3)]
          for B in (256, 250)}
curves["full"] = [full_batch(0.1, max_epochs // 2)]
jitter = {B: [rises(run) for run in runs] for B, runs in curves.items()}
jitter["256, rate 0.02"] = [rises(val_losses(0.02, 256, seed=0))]
for B, values in jitter.items():
    print(f"batches of {B!s:14}: sum of increases",
          ", ".join(f"{v:.3f}" for v in values))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.8, 3.1))
epochs = torch.arange(1, max_epochs + 1)
for (B, runs), color, name in zip(
        curves.items(), ("C1", "C0", "black"),
        ("256, last batch 16", "250, all equal", "full batch")):
    for i, run in enumerate(runs):
        ax.plot(epochs[:len(run)], run, color=color, lw=1.4,
                ls="-" if B != "full" else "--",
                label=name if i == 0 else None)
ax.set(xlabel="epoch", ylabel="validation loss")
ax.legend(title="batches")
d2l.describe(ax, "Validation loss over ten epochs at the learning rate 0.1. "
             "Three runs with batches of 256 and a last batch of 16 jump up "
             "and down; three runs with batches of 250 fall smoothly, close "
             "to the dashed curve of the full batch.")

# %% [markdown]
# **Figure 4.4.3.** The same rate, three ways to cut 10 000 pictures into batches (three orders each): nearly all of the jitter comes from the last batch of 16.

# %%
if small_run:
    assert jitter["full"] == [0.0]
    for B in (256, 250):  # three orders, three curves
        assert len({tuple(run.tolist()) for run in curves[B]}) == 3
    assert max(jitter[250]) < 0.05 < 0.2 < min(jitter[256])
    assert jitter["256, rate 0.02"][0] < 0.05
    if full_run:  # last batch of 96
        assert rises(torch.tensor(history["val_loss"])) < min(jitter[256]) / 2
    middle = [run[4].item() for run in curves[250] + curves["full"]]
    assert max(middle) - min(middle) < 0.05

# %% tags=["hide-input"]
# (4.4.4) for a loss of curvature 4 in one direction, 20 000 histories
rng = torch.Generator().manual_seed(1)
rate, curvature, s, x = 0.2, 4.0, 3.0, torch.zeros(20_000)
for _ in range(100):  # s: standard deviation of the gradient, B = 16
    noise = s / 4 * torch.randn(20_000, generator=rng)
    x = x - rate * (curvature * x + noise)
predicted = rate * s**2 / (16 * curvature * (2 - rate * curvature))
assert abs(x.var() / predicted - 1) < 0.05

# %% [markdown]
# The full batch is calm, equal batches nearly so, and the runs with the small last batch rise again and again, in all three orders; at a fifth of the rate the one run that we made is calm.
# In the main run (Figure 4.4.2) the last batch has 96 pictures, and the jitter is smaller.
# The remedies tested here are equal batches and a smaller rate; Section 12.11 lowers the rate during training.
#
# ### The limit of stability
#
# What remains is the other failure, $\eta\lambda>2$, for which we need the curvature.
# The second derivatives of the cross-entropy with respect to the scores are $\operatorname{diag}(\hat{\mathbf{y}})-\hat{\mathbf{y}}\hat{\mathbf{y}}^\top$ ([Section 4.1](01-softmax-regression.ipynb)).
# The scores are linear in the weights, so the matrix of second derivatives with respect to $\mathbf{W}$, the *Hessian*, is
#
# $$\mathbf{H} = \frac1n\sum_{i=1}^n\left(\operatorname{diag}(\hat{\mathbf{y}}^{(i)})-\hat{\mathbf{y}}^{(i)}\hat{\mathbf{y}}^{(i)\top}\right)\otimes\mathbf{x}^{(i)}\mathbf{x}^{(i)\top}, \tag{4.4.5}$$
#
# of shape $(7840,7840)$, with the weights listed class by class; $\hat{\mathbf{y}}^{(i)}\in\mathbb{R}^{10}$ are the probabilities and $\mathbf{x}^{(i)}\in\mathbb{R}^{784}$ the pixels of picture $i$, $\otimes$ is the *Kronecker product*, which replaces every entry of its left factor by that entry times the right factor, and the bias is left aside.
# At $\mathbf{W}=\mathbf{0}$ all probabilities are $\frac1q$ with $q=10$, and the sum can be pulled apart:
#
# $$\mathbf{H}_0 = \left(\frac1q\mathbf{I}-\frac1{q^2}\mathbf{1}\mathbf{1}^\top\right)\otimes\frac1n\mathbf{X}^\top\mathbf{X}. \tag{4.4.6}$$
#
# Here $\mathbf{I}$ is the identity and $\mathbf{1}\mathbf{1}^\top$ the matrix of ones, both $(10,10)$, and $\mathbf{X}$, of shape $(n,784)$, holds all pictures.
# The eigenvalues of a Kronecker product are the products of those of its factors.
# The first factor has the eigenvalues $\frac1q$ and 0; the largest eigenvalue of the second we compute.

# %%
second_moment = torch.zeros(784, 784, dtype=torch.float64)
for X, _ in data.train_dataloader():
    X = X.flatten(1)
    second_moment += (X.mT @ X).double()  # (784, n) @ (n, 784)
second_moment /= len(data.y_train)
largest = torch.linalg.eigvalsh(second_moment)[-1].item()
print(f"largest eigenvalue of X'X/n {largest:.2f}, at W = 0 of the Hessian "
      f"{largest / 10:.2f}; stable below lr = {20 / largest:.3f}")

# %%
# check 4.4-C9: largest eigenvalue 110.3 on the full real data; (4.4.6)
if data.source == "real" and train_size == 60_000:
    assert abs(largest - 110.28) < 0.1
    assert abs(20 / largest - 0.181) < 1e-3
X = torch.randn(7, 3, generator=generator, dtype=torch.float64)
y = torch.randint(4, (7,), generator=generator)
H = torch.autograd.functional.hessian(
    lambda w: cross_entropy(softmax(X @ w.reshape(4, 3).mT), y),
    torch.zeros(12, dtype=torch.float64))  # (12, 12), class by class
A = torch.eye(4) / 4 - torch.ones(4, 4) / 16
torch.testing.assert_close(H, torch.kron(A.double(), X.mT @ X / 7))

# %% [markdown]
# At the start the learning rate may thus reach 0.18.
# Later the limit may differ.
# For a picture that the model is sure about, the first factor is nearly 0.
# But where two classes compete with probability $\frac12$ each, its largest eigenvalue is $\frac12$ instead of $\frac1{10}$.
# If that happened for all pictures, the limit would be $2/(0.5\cdot110.28)=0.036$, and our rate of 0.1 would be far beyond it.
# The curvature can be measured instead; a thousand pictures will do.
# The product of $\mathbf{H}$ with a direction $\mathbf{V}$, of the shape of $\mathbf{W}$, needs no matrix of $7840^2$ entries: by (4.4.5) it is
#
# $$\mathbf{H}[\mathbf{V}] = \frac1n\mathbf{X}^\top\left(\hat{\mathbf{Y}}\odot(\mathbf{Z}-\mathbf{m}\mathbf{1}^\top)\right),\qquad \mathbf{Z} = \mathbf{X}\mathbf{V},\quad m_i = \sum_k\hat Y_{ik}Z_{ik}, \tag{4.4.7}$$
#
# where $\mathbf{Z}$ of shape $(n,10)$ is the change of the scores along $\mathbf{V}$, $\mathbf{m}$ of shape $(n,1)$ its mean under the predicted probabilities, $\mathbf{1}^\top$ of shape $(1,10)$ repeats it for each class, and $\odot$ multiplies entry by entry.
# Multiplying repeatedly by $\mathbf{H}$ and normalizing each time turns almost any direction towards the eigenvector of the largest eigenvalue (*power iteration*).

# %%
def sharpest(model, X, steps=50):
    """Largest eigenvalue of the Hessian in W, and its direction."""
    generator = torch.Generator().manual_seed(0)
    X = X.flatten(1)  # (n, 784)
    with torch.no_grad():
        P = model(X)  # (n, 10)
        V = torch.randn(784, 10, generator=generator)
        for _ in range(steps):
            V = V / torch.linalg.vector_norm(V)
            Z = X @ V  # (n, 10)
            m = (P * Z).sum(dim=1, keepdim=True)  # (n, 1)
            HV = X.mT @ (P * (Z - m)) / len(X)  # (784, 10)
            curvature = (V * HV).sum().item()
            V = HV
    return curvature, V / torch.linalg.vector_norm(V)

X = small.X_train[:1000]
curvature, _ = sharpest(zero, X)
own = X.flatten(1).double()
expected = torch.linalg.eigvalsh(own.mT @ own / len(own))[-1] / 10
assert abs(curvature / expected.item() - 1) < 1e-3
curvature, direction = sharpest(model, X, steps=100)
share = direction.square().sum(dim=0)  # (10,), sum 1
names = data.text_labels(range(10))
print(f"after training: curvature {curvature:.1f}; sharpest direction: "
      + ", ".join(f"{names[k]} {share[k]:.2f}" for k in share.topk(3).indices))
if full_run:
    assert share[[2, 4]].min() > 0.4  # pullover and coat
    assert 7 < curvature < 14  # far below the bound of 55
V = (X.flatten(1).mT @ torch.randn(1000, 10)) / 1000  # (784, 10)
with torch.no_grad():  # (4.4.7) against a difference of two gradients
    P = model(X)
shift = [softmax(X.flatten(1) @ (model.W.detach() + t * V) + model.b)
         for t in (-1e-2, 1e-2)]
Z = X.flatten(1) @ V
HV = X.flatten(1).mT @ (P * (Z - (P * Z).sum(1, keepdim=True))) / 1000
by_difference = X.flatten(1).mT @ (shift[1] - shift[0]) / 1000 / 2e-2
torch.testing.assert_close(HV, by_difference.detach(), rtol=0,
                           atol=2e-2 * HV.abs().max().item())

# %% [markdown]
# The curvature is far below the bound, which would need every picture to be disputed by the same two classes with probability ½ each.
# Its sharpest direction has nearly equal shares for pullover and coat, two classes that compete for the same pictures.
# Now we follow the curvature through the training, for three learning rates and equal batches.

# %%
rates, tracks = (0.01, 0.1, 0.5), {}
small.batch_size = 250
for lr in rates:
    torch.manual_seed(0)
    walker = SoftmaxRegressionScratch(784, 10, lr, sigma=0)
    walker.board.display = False
    rows = [(math.log(10), lr * sharpest(walker, X)[0])]
    for epoch in range(max_epochs):
        run = Trainer(max_epochs=1)
        run.fit(walker, small)  # continues from where it is
        rows.append((run.history["val_loss"][0],
                     lr * sharpest(walker, X, steps=25)[0]))
    tracks[lr] = torch.tensor(rows)  # (epochs + 1, 2)
wild = full_batch(0.5, epochs=10, steps=4)  # exact gradients, too fast

# %% tags=["timing", "hide-input"]
# (not compared between runs: the curve for 0.5 is chaotic, see below)
fig, axes = plt.subplots(1, 2, figsize=(7, 3.1))
epochs = torch.arange(max_epochs + 1)
for lr, fmt in zip(rates, ("C0s-", "C1o-", "C2^-")):
    for ax, values in zip(axes, tracks[lr].T):
        ax.plot(epochs, values, fmt, ms=4, linewidth=1.4,
                label=f"$\\eta={lr}$")
axes[0].set(xlabel="epoch", ylabel="validation loss", yscale="log",
            yticks=[0.6, 1, 2], yticklabels=["0.6", "1", "2"])
axes[0].minorticks_off()
axes[0].legend()
axes[1].axhline(2, color="black", ls="--", linewidth=1.2)
axes[1].text(len(epochs) - 0.7, 1.95, "stable below 2", ha="right",
             va="top", fontsize=9)
axes[1].set(xlabel="epoch", ylabel="$\\eta$ times largest curvature",
            ylim=(0, None))
d2l.describe(axes, "Left, validation losses on a logarithmic axis: smooth "
             "for the learning rates 0.01 and 0.1, jumping for 0.5. Right, "
             "the rate times the largest curvature: far below 1, between 1 "
             "and 2, and mostly above 2.")

# %% [markdown]
# **Figure 4.4.4.** Left, three learning rates with equal batches: slow, fast, too large.
# Right, rate times curvature: far below 1, between 1 and 2, or mostly above the limit of 2.
#
# At $\eta=0.1$ the product lies between 1 and 2 after every epoch, so an exact step there would overshoot in the sharpest direction, and yet the curve is calm: overshooting by itself does not jitter.
# At $\eta=0.01$ it is calm too, and far behind.
# At $\eta=0.5$ the product stays above the limit most of the time.
# This is not noise: with exact gradients the loss jumps as well.
# In a quadratic bowl it would diverge; here it grows only linearly far from the minimum, so the iteration keeps jumping instead.

# %%
# check: each curve begins at the rate times the curvature of weights 0
for lr, track in tracks.items():
    assert abs(track[0, 1] / (lr * expected.item()) - 1) < 1e-3

# %%
print("sum of increases:", {lr: round(rises(track[:, 0]), 3)
                            for lr, track in list(tracks.items())[:2]})
if small_run:
    product = {lr: track[1:, 1] for lr, track in tracks.items()}
    assert product[0.01].max() < 0.5 and product[0.5].median() > 2
    assert 1 < product[0.1].min() and product[0.1].max() < 2
    assert max(rises(tracks[k][:, 0]) for k in (0.01, 0.1)) < 0.05
    assert rises(tracks[0.5][:, 0]) > 0.5
    assert rises(wild) > 0.5  # full batch at 0.5
    assert tracks[0.1][-1, 0] < tracks[0.01][-1, 0] - 0.1  # slow is behind

# %% [markdown]
# Such jumping matters to anyone who wants to repeat a result.
# We move the start by about a millionth, as another processor's rounding might, and keep the order of the batches.
# At $\eta=0.1$ the difference stays tiny: after each of ten epochs the validation losses of both runs agree to five digits.
# At $\eta=0.5$ it grows by several orders of magnitude.
# The run beyond the stability limit is *chaotic*: its numbers cannot be expected to repeat on other hardware, and only their size is worth reporting.

# %%
gap = {}
for lr in (0.1, 0.5):
    pair = [quiet_fit(small, lr, max_epochs, sigma)[1].history["val_loss"]
            for sigma in (0, 1e-6)]  # same batches, starts nearly equal
    gap[lr] = max(abs(a - b) for a, b in zip(*pair))
if small_run:
    assert gap[0.1] < 1e-5 and gap[0.5] > 0.05

# %% [markdown]
# ## Prediction
#
# The answer for a picture is the class with the largest probability.
# We take one validation batch and look at the errors.

# %%
X, y = next(iter(data.val_dataloader()))
with torch.no_grad():
    preds = model(X).argmax(dim=1)  # (256,)
wrong = (preds != y).nonzero().flatten()  # indices of the errors
print(tuple(preds.shape), "predictions,", len(wrong), "of them wrong")

# %%
shown = wrong[:8]
labels = [f"{a}\n{b}" for a, b in zip(data.text_labels(y[shown]),
                                      data.text_labels(preds[shown]))]
axes = data.visualize((X[shown], y[shown]), labels=labels)
d2l.describe(axes, "Eight misclassified pictures with two lines above each: "
             + "; ".join(label.replace("\n", " answered as ")
                         for label in labels) + ".")

# %% [markdown]
# **Figure 4.4.5.** The first errors of the validation set; the first line names the true class, the second the answer.
#
# Some of these errors a person would make too.
# To see which errors are typical, we count all of them.

# %%
Y_hat, Y = predict(model, data.val_dataloader())  # (10000, 10), (10000,)
C = confusion_matrix(Y_hat.argmax(dim=1), Y, 10)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 5.2))
d2l.heatmap(C, rows=names, cols=names, annotate="d", cmap="Blues",
            xlabel="answer", ylabel="true class", ax=ax)
ax.set_xticks(range(10), labels=names, rotation=45, ha="right")
d2l.describe(ax, "Ten by ten table of counts, most of them on the diagonal. "
             "The row of shirt is spread over t-shirt, pullover, coat and "
             "dress; footwear is confused only with footwear.")

# %% [markdown]
# **Figure 4.4.6.** Confusions of the trained model: tops are taken for tops and footwear for footwear, hardly ever across.

# %%
# check 4.4-C8: shirt is found least; holds for real images, 10 epochs
recall = C.diagonal() / C.sum(dim=1)
for name, r in zip(names, recall):
    print(f"{name:12}{r:.2f}")
assert C.sum() == 10_000 and abs(
    C.trace() / 10_000 - model.accuracy(Y_hat, Y)) < 1e-6
if small_run:
    tops, shoes = torch.tensor([0, 2, 3, 4, 6]), torch.tensor([5, 7, 9])
    across = C[tops][:, shoes].sum() + C[shoes][:, tops].sum()
    assert across < 0.02 * (C[tops].sum() + C[shoes].sum())
    assert recall.argmin() == names.index("shirt")
    assert recall.min() < 0.65
    assert (recall > 0.65).sum() == 9  # all others
    into = C[6].clone()  # where shirts go
    into[6] = 0
    assert set(into.topk(3).indices.tolist()) == {0, 2, 4}
    false_sandals = C[:, 5].sum() - C[5, 5]
    assert false_sandals < 200  # 786 by the nearest class mean

# %% [markdown]
# Shirts are taken for t-shirts, pullovers and coats.
# Of the hundreds of false sandals that the nearest class mean of [Section 4.3](03-base-classification-model.ipynb) produced, few are left.
#
# ### The weights as pictures
#
# A column of $\mathbf{W}$ has one number for each pixel, so it can be drawn as a picture.
# A score is the sum of pixels times weights: a bright pixel speaks for the class where the weight is positive, and against it where it is negative.
# We draw the model that started at zero, because there every weight is the result of training.

# %% tags=["hide-input"]
def plot_templates(W):
    """Columns of W (784, 10) as pictures: blue for, red against."""
    fig, axes = plt.subplots(2, 5, figsize=(7, 3.4))
    limit = W.abs().max().item()
    for ax, name, w in zip(axes.flat, names, W.mT):
        picture = ax.imshow(w.reshape(28, 28), cmap="RdBu", vmin=-limit,
                            vmax=limit)
        ax.set_title(name)
        ax.axis("off")
    fig.colorbar(picture, ax=axes, shrink=0.8, label="weight")
    return axes

W = from_zero.W.detach()  # (784, 10)
axes = plot_templates(W)
d2l.describe(axes, "Ten templates in red and blue. Trouser has a dark red "
             "stripe between the legs; "
             "t-shirt is blue where short sleeves are, and red below; coat "
             "has red shoulders and a blue collar; sandal, sneaker and "
             "ankle boot show parts of their outlines.")

# %% [markdown]
# **Figure 4.4.7.** What each class looks for: bright pixels speak for it where the template is blue, against it where it is red.
#
# A template is not a mean picture; it emphasizes what *distinguishes* a class.
# For trousers the gap between the legs is red, where a dress has fabric.
# The templates also compete in a precise sense: the gradient (4.1.10) contains $\hat{\mathbf{y}}-\mathbf{y}$, whose entries sum to 0, so the ten weights of a pixel keep their sum throughout training.
# From a start at zero it stays zero, up to rounding.

# %%
assert W.sum(dim=1).abs().max() < 1e-3 * W.abs().max()
if full_run:  # the reddest column of trousers is the gap in the middle
    lower = W[:, 1].reshape(28, 28)[18:].mean(dim=0)  # (28,)
    assert 12 <= lower.argmin() <= 15 and lower.min() < -0.1

# %% [markdown]
# ### Can the probabilities be believed?
#
# If the model says 0.8 for each of a hundred pictures, about eighty of these answers should be right.
# A model for which this holds at every level is *calibrated*.
# To measure it, sort the answers by their *confidence*, the largest probability, into $B$ bins of equal width, and compare in each bin the mean confidence with the share of right answers.
# The *expected calibration error* is the mean difference, weighted by the number of answers:
#
# $$\operatorname{ECE} = \sum_{b=1}^B\frac{n_b}n\left|\operatorname{acc}_b-\operatorname{conf}_b\right|, \tag{4.4.8}$$
#
# where $n_b$ of the $n$ answers lie in bin $b$, $\operatorname{acc}_b$ is the share of right ones among them and $\operatorname{conf}_b$ their mean confidence; all are numbers.

# %% tags=["export"]
def reliability(Y_hat, Y, bins=15):
    """Counts, mean confidences and accuracies of the bins in use.

    Probabilities Y_hat (n, q), labels Y (n,); the bins cut [0, 1] into
    equal parts by the largest probability of each row.
    """
    confidence, answer = Y_hat.max(dim=1)  # (n,), (n,)
    hits = (answer == Y).double()
    index = (confidence * bins).long().clamp(max=bins - 1)  # (n,)
    count = torch.bincount(index, minlength=bins)  # (bins,)
    conf = torch.bincount(index, confidence.double(), minlength=bins)
    acc = torch.bincount(index, hits, minlength=bins)
    used = count > 0
    count = count[used]
    return count, conf[used] / count, acc[used] / count

# %% tags=["export"]
def calibration_error(Y_hat, Y, bins=15):
    """Expected calibration error of probabilities Y_hat (n, q)."""
    count, conf, acc = reliability(Y_hat, Y, bins)
    return (count / count.sum() * (acc - conf).abs()).sum().item()

# %%
count, conf, acc = reliability(Y_hat, Y)
ece = calibration_error(Y_hat, Y)
print(f"expected calibration error {ece:.3f}")
few = FashionMNIST(batch_size=50, train_size=500, val_size=100)
on_few, known = {}, {}  # probabilities of new and of the 500 pictures
print("500 pictures     error  accuracy  accuracy, confidence on the 500")
for epochs in (60, 400):
    trained, _ = quiet_fit(few, 0.1, epochs)
    on_few[epochs], _ = predict(trained, data.val_dataloader())
    with torch.no_grad():
        known[epochs] = trained(few.X_train)  # (500, 10)
    print(f"{epochs:3} epochs{calibration_error(on_few[epochs], Y):13.3f}"
          f"{model.accuracy(on_few[epochs], Y):10.3f}"
          f"{model.accuracy(known[epochs], few.y_train):10.3f}"
          f"{known[epochs].amax(dim=1).mean():12.3f}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(4.6, 4.6), sharex=True,
                         gridspec_kw={"height_ratios": [3, 1]})
axes[0].plot([0, 1], [0, 1], "k--", linewidth=1.2, label="calibrated")
_, conf_few, acc_few = reliability(on_few[400], Y)
axes[0].plot(conf, acc, "o-", color="C0", label="60 000 pictures")
axes[0].plot(conf_few, acc_few, "s:", color="C1", label="500, long")
axes[0].set(ylabel="share of right answers", ylim=(0, 1.02))
axes[0].legend()
axes[1].bar(conf, count, width=0.05, color="C0")
axes[1].set(xlabel="confidence", ylabel="answers", xlim=(0, 1.02))
d2l.describe(axes, "Above, the share of right answers over the confidence: "
             "the dots of the model follow the diagonal, most of those of a "
             "model trained on 500 pictures lie below it. Below, the number "
             "of answers in each bin: the last bin, with confidence near 1, "
             "holds the most by far.")

# %% [markdown]
# **Figure 4.4.8.** The *reliability diagram*: the probabilities of the main model (blue; its counts below) can nearly be taken at their word, those of the same model after 400 epochs on 500 pictures (orange) promise too much.
# Bins with few answers scatter.

# %%
sure = torch.tensor([[0.8, 0.2]]).repeat(100, 1)  # right 80 times of 100
seen = reliability(sure, (torch.arange(100) >= 80).long())
assert abs(seen[2] - seen[1]).max() < 1e-6
certain = torch.tensor([[1.0, 0.0], [0.99, 0.01]])  # one bin, the last
assert reliability(certain, torch.tensor([0, 0]))[0].tolist() == [2]
assert count.sum() == 10_000
exaggerated = F.normalize(Y_hat**3, p=1, dim=1)  # scores times 3
if full_run:
    short, long = (calibration_error(on_few[k], Y) for k in (60, 400))
    assert ece < 0.03 and short < 0.03 and long > 0.07
    assert model.accuracy(known[400], few.y_train) == 1
    assert abs(model.accuracy(on_few[60], Y)
               - model.accuracy(on_few[400], Y)) < 0.02
    assert calibration_error(exaggerated, Y) > 0.06

# %% [markdown]
# The loss, a log-likelihood, punishes false confidence, but only on the training pictures.
# On 500 of them the same model is well calibrated after 60 epochs and overconfident after 400, when it names all of them correctly and only grows more certain; the accuracy on new pictures differs by less than two points and shows nothing of it (one run of each length).
# Large networks that fit their training data are often overconfident too (Guo et al. 2017); Exercise 4.5-7 measures two remedies.
# The decisions of [Section 4.3](03-base-classification-model.ipynb), which weigh costs by probabilities, need this diagram first.

# %% [markdown]
# ## Summary
#
# - Softmax is three lines, the loss picks one probability for each example; a score of 100 already turns the naive version into `nan`.
# - Before the first step the loss is $\log10$ for zero weights and close to it for small random ones; the accuracy of random weights can be anything.
# - Ten epochs bring a linear model to about five right answers in six; shirts are found least.
# - The loss is convex, so there are no separate valleys; after ten epochs, starts at zero and at small random numbers differed by less than 0.002 in training loss.
# - The validation curve jitters because minibatch gradients are noisy, above all that of a small last batch; with the full batch it is calm as long as rate times curvature stays below 2.
# - Weights drawn as pictures show what distinguishes a class; with 60 000 pictures the model is nearly calibrated, after long training on 500 it is not.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 4.4-1
#
# What does `softmax` return if one score is 100, and if all scores lie below $-100$?
# Mend it, using the fact that softmax does not change when the same number is subtracted from all scores of a row.

# %% [markdown]
# #### Solution 4.4-1

# %% [markdown]
# A score of 100 gives `nan`.
# Below about $-87$ the exponentials are smaller than the smallest normal number of `float32`, so they are stored with fewer and fewer digits: at $-100$ the result is off by several per cent, and below $-104$ it is `nan`.
# (Some processors replace such numbers by 0, and give `nan` earlier.)
# Subtracting the maximum of each row makes the largest exponent 0, hence the largest term 1 and the partition function a number between 1 and $q$: no overflow, no division by 0.

# %%
def shifted_softmax(X):
    """Softmax of scores (n, q) of any size."""
    return softmax(X - X.max(dim=1, keepdim=True).values)

bad = torch.tensor([[100.0, 0, 0], [-100, -101, -102], [-105, -106, -107]])
print(softmax(bad), shifted_softmax(bad), sep="\n")
exact = torch.softmax(bad, dim=1)
error = (softmax(bad) - exact).abs().amax(dim=1)  # (3,)
assert error[0].isnan() and error[2].isnan()
assert error[1].isnan() or error[1] > 1e-3
torch.testing.assert_close(shifted_softmax(bad), exact)
torch.testing.assert_close(shifted_softmax(1000 * O),
                           torch.softmax(1000 * O, dim=1))

# %% [markdown]
# ### Exercise 4.4-2
#
# Write the cross-entropy by its full definition, $-\sum_jy_j\log\hat y_j$ with one-hot labels.
# Compare the speed with picking for 2000 classes.
# What happens if a probability is exactly 0?

# %% [markdown]
# #### Solution 4.4-2

# %% [markdown]
# Both give the same value where all probabilities are positive, but the full definition takes 2000 logarithms and products for each example where one is needed.
# And $0\cdot\log0$ is computed as $0\cdot(-\infty)$, which is `nan`, although a class that does not occur should contribute nothing.
# `torch.xlogy(a, b)`, which is $a\log b$ with the value 0 for $a=0$, repairs that.

# %%
def full_cross_entropy(y_hat, y):
    labels = one_hot(y, y_hat.shape[1])  # (n, q)
    return -(labels * torch.log(y_hat)).sum(dim=1).mean()

many = torch.softmax(torch.randn(500, 2000, generator=generator), dim=1)
y = torch.randint(2000, (500,), generator=generator)
torch.testing.assert_close(full_cross_entropy(many, y),
                           cross_entropy(many, y))
certain, y0 = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
assert full_cross_entropy(certain, y0).isnan()
assert cross_entropy(certain, y0) == 0
assert -torch.xlogy(one_hot(y0, 2), certain).sum() == 0

# %%
seconds = {}
for function in (cross_entropy, full_cross_entropy):
    times = []
    for _ in range(10):
        timer = Timer()
        function(many, y)
        times.append(timer.stop())
    seconds[function.__name__] = min(times)
assert seconds["full_cross_entropy"] > 3 * seconds["cross_entropy"]

# %% tags=["timing"]
for name, s in seconds.items():
    print(f"{name:20}{1e6 * s:10.0f} microseconds")

# %% [markdown]
# ### Exercise 4.4-3
#
# Should a program that looks for a disease return the most probable diagnosis?
# Let *shirt* be the disease: to overlook a shirt costs 10, to call something else a shirt costs 1.
# Compare on the test pictures the cost of naming the most probable class with that of `bayes_decision`.

# %% [markdown]
# #### Solution 4.4-3

# %% [markdown]
# No: a disease that has probability 0.3 should not be ruled out because something harmless has 0.4.
# There are two answers, *no shirt* and *shirt*, so the cost matrix has ten rows and two columns, and the alarm is raised above the probability $\frac1{11}$.
# There are many more false alarms then, but the cost per picture is little more than half.

# %%
cost = torch.zeros(10, 2)  # [true class, answer]
cost[:, 1] = 1  # false alarm
cost[6] = torch.tensor([10.0, 0.0])  # shirt overlooked, shirt found
likely = (Y_hat.argmax(dim=1) == 6).long()
best = bayes_decision(Y_hat, cost)  # (10000,)
paid = {}
for name, answer in (("most probable", likely), ("least cost", best)):
    paid[name] = cost[Y, answer].mean().item()
    found = answer[Y == 6].float().mean()
    print(f"{name:14} cost {paid[name]:.3f}, shirts found {found:.2f}, "
          f"false alarms {answer[Y != 6].sum()}")
assert torch.equal(best == 1, Y_hat[:, 6].double() > 1 / 11)
if small_run:
    assert paid["least cost"] < 0.6 * paid["most probable"]

# %% [markdown]
# ### Exercise 4.4-4
#
# A language model with 512 features chooses the next word from a vocabulary of 50 000.
# How many parameters does its softmax layer have, and how many multiplications does an example cost?
# Which ways out do you see?

# %% [markdown]
# #### Solution 4.4-4

# %% [markdown]
# The weights are $d\cdot q=512\cdot50\,000=25.6$ million, plus 50 000 biases, and each example needs one multiplication for each weight, and 50 000 exponentials.
# The device `meta` knows shapes without storing numbers, which is convenient for such questions.
#
# A *hierarchical softmax* first chooses one of about $\sqrt q\approx224$ groups and then a word in the group: two softmaxes of 224 classes cost about 112 times less in training, and a binary tree needs only 16 decisions.
# A *sampled softmax* compares the true word with a few random ones instead of all.
# Splitting rare words into parts makes the vocabulary itself smaller.

# %%
d, q = 512, 50_000
layer = nn.Linear(d, q, device="meta")
assert layer.weight.numel() == d * q == 25_600_000
assert layer.bias.numel() == q
groups = math.ceil(math.sqrt(q))
print("multiplications: flat", d * q, " two levels", 2 * d * groups,
      " binary tree", d * math.ceil(math.log2(q)))
assert groups == 224 and math.ceil(math.log2(q)) == 16
assert 110 < d * q / (2 * d * groups) < 113

# %% [markdown]
# ### Exercise 4.4-5
#
# Train on Small with batches of 64 and the learning rates 0.002, 0.02 and 0.2.
# Which has the lowest training loss after the same number of epochs, and is it the one to choose?

# %% [markdown]
# #### Solution 4.4-5

# %% [markdown]
# At 0.002 the training is far from finished; the loss falls with the rate up to 0.2.
# But at 0.2 the validation accuracy exceeds that at 0.02 by less than the jitter of single epochs, as the largest change between the last epochs shows.
# The choice belongs to validation data, and to more than one epoch of it.

# %%
small.batch_size = 64
runs = {0.02: small_trainer}  # the run of check C7
last, final_acc, jump = {}, {}, {}
for lr in (0.002, 0.2):
    _, runs[lr] = quiet_fit(small, lr, max_epochs)
for lr, run in sorted(runs.items()):
    last[lr] = run.history["train_loss"][-1]
    acc = torch.tensor(run.history["val_acc"])
    final_acc[lr] = acc[-1].item()
    jump[lr] = acc[-5:].diff().abs().amax().item() if len(acc) > 4 else 0
    print(f"lr {lr:5}: train_loss {last[lr]:.3f}, val_acc "
          f"{final_acc[lr]:.3f}, largest late change {jump[lr]:.3f}")
assert last[0.02] < last[0.002]
if small_run:
    assert last[0.2] < last[0.02]
    assert final_acc[0.2] - final_acc[0.02] < jump[0.2]

# %% [markdown]
# ### Exercise 4.4-6
#
# Train on Small with batches of 16, 256 and 4096 for 4 epochs, with learning rate 0.02.
# How many updates does each make, and in which order are the losses?

# %% [markdown]
# #### Solution 4.4-6

# %% [markdown]
# An epoch has $\lceil10\,000/B\rceil$ batches of size $B$: 625, 40 and 3.
# At a fixed learning rate the smallest batch makes by far the most steps and has the lowest loss.
# This compares numbers of steps rather than batch sizes: a large batch has a less noisy gradient and would allow a larger rate, up to the stability limit of (4.4.6), and uses the hardware better.

# %%
final, updates = {}, {}
for B in (16, 256, 4096):
    small.batch_size = B
    _, run = quiet_fit(small, 0.02, epochs=4)
    final[B], updates[B] = run.history["train_loss"][-1], run.train_batch_idx
    print(f"batch {B:4}: {updates[B]:5} updates, loss {final[B]:.3f}")
n = len(small.y_train)
assert updates == {B: 4 * math.ceil(n / B) for B in updates}
assert final[16] < final[256] < final[4096]

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the data, the model and its hyperparameters.
# - D. Böhning (1992). Multinomial logistic regression algorithm. Annals of the Institute of Statistical Mathematics 44. [doi:10.1007/BF00048682](https://doi.org/10.1007/BF00048682): the Hessian as a Kronecker product and its bounds.
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017). On calibration of modern neural networks. [arXiv:1706.04599](https://arxiv.org/abs/1706.04599): reliability diagrams and the expected calibration error.
# - F. Morin, Y. Bengio (2005). Hierarchical probabilistic neural network language model. AISTATS: the hierarchical softmax. [PMLR R5](https://proceedings.mlr.press/r5/morin05a.html).
# - J. M. Cohen, S. Kaur, Y. Li, J. Z. Kolter, A. Talwalkar (2021). Gradient descent on neural networks typically occurs at the edge of stability. [arXiv:2103.00065](https://arxiv.org/abs/2103.00065): curvature followed through training.
