# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu: {}
#       smoke:
#         num_orders: 200
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
# # 4.3 The base classification model
#
# A classifier computes ten scores for a picture, but someone wants one answer.
# How do scores become answers, how are the right ones counted without a subtle error, and when is the most probable class the wrong answer?
# This section adds to Chapter 3's `Module` what all classifiers in this book share.
#
# **You will**
#
# - extend `Module` to a `Classifier` that reports loss and accuracy on validation data;
# - say when an average over batches is biased, and correct it;
# - compute accuracy for outputs of any shape, and recognize the shape that silently gives nonsense;
# - read a confusion matrix, and choose the answer of least expected cost.
#
# **Cost**: about ten seconds on a CPU, no GPU needed; a download of 31 MB, once.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (FashionMNIST,
                                                        one_hot, softmax)
from d2l_helpers.chapters.linear_regression import (Module, Trainer,
                                                    add_to_class)

d2l.use_style()

# %% tags=["parameters"]
num_orders = 1000  # random orders of the validation examples

# %% [markdown]
# ## Ten scores, one answer
#
# The classifier without training of [Section 4.2](02-image-classification-dataset.ipynb) gives each picture the class of the nearest class mean.
# As that section noted, this is a linear score: the squared distance $\|\mathbf{x}-\boldsymbol\mu_k\|^2$ is smallest where $2\boldsymbol\mu_k^\top\mathbf{x}-\|\boldsymbol\mu_k\|^2$ is largest.

# %%
data = FashionMNIST(batch_size=256)
names = data.text_labels(range(10))
sums = torch.zeros(10, 784)
for X, y in data.train_dataloader():
    sums += one_hot(y, 10).mT @ X.flatten(1)  # (10, n) @ (n, 784)
means = sums / torch.bincount(data.y_train).unsqueeze(1)  # (10, 784)


def mean_scores(X):
    """Scores (n, 10) of pictures (n, 1, 28, 28), by the class means."""
    return 2 * X.flatten(1) @ means.mT - means.square().sum(dim=1)

# %% tags=["hide-input"]
scores = mean_scores(data.X_val)  # (10000, 10)
right = scores.argmax(dim=1) == data.y_val
hit, miss = right.nonzero().flatten(), (~right).nonzero().flatten()
shown = [hit[0].item(), *miss[:2].tolist()]
fig, axes = plt.subplots(2, 3, figsize=(7.2, 4.2), height_ratios=[1, 1.3])
for i, picture, bars in zip(shown, axes[0], axes[1]):
    picture.imshow(data.X_val[i, 0], cmap="gray", vmin=0, vmax=1)
    picture.set_title(f"label: {names[data.y_val[i]]}")
    picture.axis("off")
    colors = ["C0"] * 10
    colors[scores[i].argmax()] = "C1"
    bars.bar(range(10), scores[i], color=colors)
    bars.set_xticks(range(10), names, rotation=90)
    bars.grid(axis="x", visible=False)
axes[1, 0].set_ylabel("score")
said = [names[k] for k in scores[shown].argmax(dim=1)]
d2l.describe(axes.flatten(), "Three test pictures with the bars of their ten "
             "scores; the highest bars belong to " + ", ".join(said) + ".")

# %% [markdown]
# **Figure 4.3.1.** Three test pictures and their scores by the nearest class mean.
# The answer is the class with the highest score (orange); for the first picture it is the label, for the other two it is not.

# %% [markdown]
# ## The `Classifier` class
#
# For a regression model the loss was also the measure of success.
# A classifier has two measures: the cross-entropy, which training minimizes, and the *accuracy*, the share of examples answered correctly, which people ask for.
# So its validation step reports both, from one forward pass.
# The class has no loss yet: each model brings its own until [Section 4.5](05-softmax-regression-concise.ipynb) adds one for all.
#
# `plot` sends each value to the board and to the trainer, as in [Section 3.2](../03-linear-regression/02-object-oriented-design.ipynb); the history of a run thus gains the entry `val_acc`.

# %% tags=["export"]
class Classifier(Module):
    """A model whose output holds one score per class, (n, ..., q)."""

    def validation_step(self, batch):
        Y_hat = self(*batch[:-1])
        self.plot("loss", self.loss(Y_hat, batch[-1]), train=False)
        self.plot("acc", self.accuracy(Y_hat, batch[-1]), train=False)

# %% [markdown]
# A second addition is a default for the optimizer.
# From here on, a classifier that has `nn` layers and a learning rate needs no optimizer of its own: the default is stochastic gradient descent on all registered parameters.
# A model that wants another one defines `configure_optimizers`, and its definition wins.

# %% tags=["export"]
@add_to_class(Classifier)
def configure_optimizers(self):
    """Stochastic gradient descent, unless a subclass says otherwise."""
    return torch.optim.SGD(self.parameters(), lr=self.lr)
# %% [markdown]
# ### Accuracy of a batch
#
# For an example with the scores $\mathbf{o}\in\mathbb{R}^q$, one for each class, the answer is the class with the largest score.
# Accuracy counts how often it is right:
#
# $$\operatorname{acc} = \frac1n\sum_{i=1}^n\mathbf{1}\!\left[\operatorname*{argmax}_{j}o^{(i)}_j = y^{(i)}\right], \tag{4.3.1}$$
#
# where $n$ is the number of examples, $o^{(i)}_j$ the score of class $j$ for example $i$, $y^{(i)}\in\{0,\dots,q-1\}$ its label, and $\mathbf{1}[\cdot]$ is 1 if the statement in the brackets is true and 0 otherwise.
# For the scores $(0.1,0.3,0.6)$ and $(0.3,0.2,0.5)$ with the labels 0 and 2 the answers are 2 and 2; the second is right, so the accuracy is 0.5.
#
# The method below does a little more than the formula, because later models answer many questions per example, such as a class for every word of a sentence; their scores have shape $(n,T,q)$ and their labels $(n,T)$.
# All axes but the last are flattened, and each of the $nT$ answers counts the same.
# With `averaged=False` the method returns the individual hits, from which other measures can be built.

# %% tags=["export"]
@add_to_class(Classifier)
def accuracy(self, Y_hat, Y, averaged=True):
    """Share of scores Y_hat (n, ..., q) whose argmax is the label.

    Labels Y have shape (n, ...). With `averaged=False` one float, 0 or 1,
    per label: a vector of length Y.numel().
    """
    if Y.shape != Y_hat.shape[:-1]:
        raise ValueError(f"scores of shape {tuple(Y_hat.shape)} need labels "
                         f"of shape {tuple(Y_hat.shape[:-1])}, "
                         f"got {tuple(Y.shape)}.")
    Y_hat = Y_hat.reshape(-1, Y_hat.shape[-1])  # (N, q)
    predictions = Y_hat.argmax(dim=-1).to(Y.dtype)  # (N,)
    hits = (predictions == Y.reshape(-1)).float()  # (N,)
    return hits.mean() if averaged else hits
# %%
# check 4.3-C1: two examples, of which the second is answered correctly
model = Classifier()
scores = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])  # (2, 3)
labels = torch.tensor([0, 2])
assert model.accuracy(scores, labels) == 0.5
hits = model.accuracy(scores, labels, averaged=False)
assert torch.equal(hits, torch.tensor([0.0, 1.0]))

# %%
# check 4.3-C2: leading axes are flattened
generator = torch.Generator().manual_seed(0)
n, T, q = 5, 7, 4
O = torch.randn(n, T, q, generator=generator)
Y = torch.randint(q, (n, T), generator=generator)
flat = model.accuracy(O.reshape(n * T, q), Y.reshape(n * T))
assert model.accuracy(O, Y) == flat
assert model.accuracy(O, Y, averaged=False).shape == (n * T,)

# %% [markdown]
# Two lines of `accuracy` look superfluous and are not.
#
# The first is the comparison of shapes.
# Labels that come from a table are often a column $(n,1)$.
# Compared with answers of shape $(n,)$ they are broadcast to $(n,n)$: every answer is compared with every label.
# The result is a number between 0 and 1 and looks like an accuracy.
# Here are 1000 right answers to balanced labels, and 1000 random ones:

# %%
truth = torch.arange(1000) % 10  # 100 labels of each class
guesses = torch.randint(10, (1000,), generator=generator)
column = truth.reshape(-1, 1)  # (1000, 1)
for name, answers in (("right answers", truth), ("guesses", guesses)):
    pairs = answers == column  # (1000, 1000)
    print(f"{name:14} compared with (n,): "
          f"{(answers == truth).float().mean():.3f}, "
          f"with (n, 1): {pairs.float().mean():.3f}")
    assert pairs.shape == (1000, 1000)
    assert pairs.double().mean() == 0.1  # 1/q, whatever the answers

# %% [markdown]
# With balanced classes the false number is $1/q$ for *every* classifier, since each answer agrees with a $q$-th of the labels; the fault looks like a model that does not learn.
# Our method refuses such labels:

# %%
try:
    model.accuracy(one_hot(truth, 10), column)
    raise AssertionError("labels (n, 1) were accepted")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# The second is the cast of the answers to the type of the labels.
# `argmax` returns 64-bit integers, while labels are stored in all kinds of types.
# Most comparisons of two types work, because PyTorch converts both to a common one; for its unsigned types beyond 8 bits there is none.

# %%
wide = torch.tensor([0, 2], dtype=torch.uint16)
try:
    scores.argmax(dim=-1) == wide
    print("this version of PyTorch compares them")
except RuntimeError as error:
    print("RuntimeError:", str(error).split(",")[0])
for dtype in (torch.uint8, torch.uint16, torch.int32, torch.float32):
    assert model.accuracy(scores, labels.to(dtype)) == 0.5

# %% [markdown]
# Answers depend only on which score is largest, so a softmax, a positive factor, or a constant added to all scores of an example leaves the accuracy as it is.

# %%
# check 4.3-C3: what keeps the order of the scores keeps the accuracy
O = torch.randn(1000, 10, generator=generator)
exact = model.accuracy(O, truth)
shift = torch.randn(1000, 1, generator=generator)  # one per example
for same in (softmax(O), 3.7 * O, O + shift):
    assert model.accuracy(same, truth) == exact
assert model.accuracy(-O, truth) != exact

# %% [markdown]
# ### A first classifier
#
# A linear classifier, written with `nn.Linear`, needs its layer and a loss; everything else is inherited.
# We train for two epochs; [Section 4.4](04-softmax-regression-scratch.ipynb) writes out what happens in them.

# %%
class LinearClassifier(Classifier):
    """One linear layer from 784 pixels to 10 scores."""

    def __init__(self, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def loss(self, Y_hat, Y):
        return F.cross_entropy(Y_hat, Y)

# %%
torch.manual_seed(0)
model = LinearClassifier(lr=0.05)
trainer = Trainer(max_epochs=2)
trainer.fit(model, data)

# %% [markdown]
# **Figure 4.3.2.** The board shows three curves now: the two losses and, from the same validation pass, the accuracy.

# %% [markdown]
# To measure anything else we need the outputs themselves, not their averages.
# `predict` collects them, with the labels, for all batches of a loader.
# It switches to evaluation mode and back, and records no gradients; without `no_grad` the graph of every batch would stay alive until the end.

# %% tags=["export"]
def predict(model, loader):
    """Outputs (n, ..., q) and labels (n, ...) of all batches, on the CPU.

    The model runs in evaluation mode and without gradients, on the device
    of its parameters; afterwards its mode is what it was.
    """
    device = next((p.device for p in model.parameters()), "cpu")
    was_training, outputs, labels = model.training, [], []
    model.eval()
    with torch.no_grad():
        for batch in loader:
            *X, Y = d2l.to_device(batch, device)
            outputs.append(model(*X).cpu())
            labels.append(Y.cpu())
    model.train(was_training)
    return torch.cat(outputs), torch.cat(labels)
# %%
Y_hat, Y = predict(model, data.val_dataloader())
print("outputs", tuple(Y_hat.shape), " labels", tuple(Y.shape),
      " gradients recorded:", Y_hat.requires_grad)
assert Y_hat.shape == (10_000, 10) and Y.shape == (10_000,)
assert not Y_hat.requires_grad and torch.equal(Y, data.y_val)
for mode in (True, False):  # each mode is given back
    predict(model.train(mode), data.val_dataloader())
    assert model.training == mode

# %%
class Noisy(LinearClassifier):
    """Drops half of the pixels at random, but only in training mode."""

    def forward(self, X):
        return self.net(F.dropout(X, 0.5, training=self.training))


noisy = Noisy(lr=0.05).train()
first, second = (predict(noisy, data.val_dataloader())[0] for _ in "ab")
assert torch.equal(first, second)  # evaluation mode: no dropout
assert torch.equal(first, torch.cat([noisy.net(X).detach() for X, _ in
                                     data.val_dataloader()]))

# %% [markdown]
# The last entry of the history must be the accuracy of these outputs, although the history was computed batch by batch and the last batch is smaller.
# The check uses one more set, whose last batch holds a single example.

# %%
# check 4.3-C5: history["val_acc"] is the accuracy over all examples
exact = model.accuracy(Y_hat, Y).item()
assert abs(trainer.history["val_acc"][-1] - exact) < 1e-6
assert len(trainer.history["val_acc"]) == trainer.max_epochs

odd = FashionMNIST(batch_size=256, train_size=1000, val_size=257)
other, short = LinearClassifier(lr=0.05), Trainer(max_epochs=1)
other.board.display = False
short.fit(other, odd)
exact = other.accuracy(*predict(other, odd.val_dataloader())).item()
assert abs(short.history["val_acc"][-1] - exact) < 1e-6

# %% [markdown]
# ### Averages over batches
#
# Many programs compute the validation loss as the plain mean of the batch means, the *quick* value
#
# $$L^q = \frac1m\sum_{k=1}^m\ell_k, \tag{4.3.2}$$
#
# with $m$ batches and $\ell_k$ the mean loss of batch $k$, all numbers.
# If all batches have the same size $B$ this is the mean over the examples.
# But 10 000 examples in batches of 256 give $39\cdot256+16$: forty batches, of which the last has 16 examples.
# An example in a full batch enters $L^q$ with the weight $\frac1{40\cdot256}$, one of the last batch with $\frac1{40\cdot16}$, which is 16 times as much.
#
# The error can be undone afterwards.
# Let $n$ be the number of examples, $r\le B$ the size of the last batch, $l^b=\ell_m$ its mean loss, and $L$ the exact mean over all examples.
# The full batches contain everything but the last $r$ examples, so $B\sum_{k<m}\ell_k=nL-r\,l^b$.
# Adding $B\,l^b$ on both sides gives $mB\,L^q=nL+(B-r)\,l^b$, and therefore
#
# $$L = \frac{mB\,L^q-(B-r)\,l^b}{n}. \tag{4.3.3}$$
#
# For our numbers this is $L=(10240\,L^q-240\,l^b)/10000$.
# For $r=B$ the correction vanishes, as it should.

# %%
def quick_mean(values, B):
    """Plain mean of batch means, and the mean of the last batch."""
    means = torch.stack([batch.mean() for batch in values.split(B)])
    return means.mean(), means[-1]

def corrected_mean(quick, last, n, B):
    """Exact mean of n values from the quick one, by (4.3.3)."""
    m = -(-n // B)  # batches, rounded up
    r = n - (m - 1) * B  # size of the last one
    return (m * B * quick - (B - r) * last) / n

# %%
# check 4.3-C4: the correction gives the exact mean; equal batches need none
values = torch.rand(10_000, dtype=torch.float64, generator=generator)
parts = [len(batch) for batch in values.split(256)]
assert parts == 39 * [256] + [16]
quick, last = quick_mean(values, 256)
assert abs(quick - values.mean()) > 1e-5  # there is something to correct
assert abs((10_240 * quick - 240 * last) / 10_000 - values.mean()) < 1e-6
corrected = corrected_mean(quick, last, 10_000, 256)
assert abs(corrected - values.mean()) < 1e-6
assert abs(quick_mean(values, 250)[0] - values.mean()) < 1e-6

# %% [markdown]
# To see how large the error is, we take the losses of our classifier on the 10 000 validation pictures, put them into random orders, and compute the quick value for each.
# By (4.3.3) solved for $L^q$, the quick value is a straight line in the loss of the last batch, with slope $\frac{B-r}{mB}=\frac{240}{10240}$.
# One more order is not random: sorted by class, as many files are, with ankle boots as its last 16 pictures.

# %%
losses = F.cross_entropy(Y_hat, Y, reduction="none").double()  # (10000,)
orders = [torch.randperm(len(losses), generator=generator)
          for _ in range(num_orders)]
orders.append(Y.argsort(stable=True))
pairs = torch.stack([torch.stack(quick_mean(losses[order], 256))
                     for order in orders])  # (orders, 2)
quick, last = pairs.T
L = losses.mean()
torch.testing.assert_close(corrected_mean(quick, last, 10_000, 256),
                           L.expand(len(orders)))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.plot(last[:-1], quick[:-1], ".", ms=3, color="C0",
        label="quick, random orders")
ax.plot(last[-1], quick[-1], "D", color="C1", label="quick, sorted by class")
ax.axhline(L, color="C2", ls="--", label="exact, any order")
ax.axvline(L, color="#999999", ls=":", linewidth=1)
ax.set(xlabel="mean loss of the last 16 examples", xlim=(0, None),
       ylabel="validation loss reported")
ax.legend()
d2l.describe(ax, "Quick averages of many orders lie on a rising straight "
             "line over the loss of the last batch. The line crosses the "
             "dashed exact value where the last batch is typical. The order "
             "sorted by class lies far to the left, below the exact value.")

# %% [markdown]
# **Figure 4.3.3.** The quick average follows the loss of the last, small batch along a straight line; the exact average does not depend on the order.

# %%
slope = (quick.max() - quick.min()) / (last.max() - last.min())
assert abs(slope - 240 / 10_240) < 1e-6
assert 0.01 < (quick / L - 1).abs().max() < 0.05  # a few per cent
print(f"exact {L:.4f}, quick from {quick.min():.4f} to {quick.max():.4f}")

# %% [markdown]
# The error is at most a few per cent of the loss here, but models under comparison often differ by no more, and a number that depends on the order of a file is not a property of the model.
# The exact mean is cheap: `Trainer.record` multiplies each value by the number of its examples, and the history divides by the total.
# The curves of the board are plain means; they are for the eye.

# %% [markdown]
# ## Why not train for accuracy?
#
# If accuracy is what counts, why minimize something else?
# Because accuracy gives no direction.
# A small enough change of the parameters changes the scores a little but not which one is largest, and the accuracy stays exactly the same.
# As a function of the parameters it is piecewise constant: its gradient is zero almost everywhere, and undefined at the jumps.
# The cross-entropy is a *surrogate*: a smooth loss, which for softmax regression is convex and so has a slope wherever it can still be lowered.
# It also bounds the share of errors.
# A wrong answer leaves the true class at most half of the probability and so costs at least $\log2$; a mean loss $L$ thus allows at most a share $L/\log2$ of errors.
# (The converse fails: a few confident errors make $L$ large.)
#
# The figure shows both for a tiny classifier: one feature $x$, two classes, and the score $x-t$ for class 1 against 0 for class 0; the only parameter is the threshold $t$.

# %%
generator = torch.Generator().manual_seed(3)
x = torch.cat([torch.randn(12, generator=generator) - 1,
               torch.randn(12, generator=generator) + 1])  # (24,)
label = torch.arange(24) // 12  # 12 times 0, 12 times 1
t = torch.linspace(-3.5, 3.5, 1401)
O_t = torch.stack([torch.zeros(len(t), 24), x - t[:, None]], dim=-1)
acc = torch.stack([model.accuracy(o, label) for o in O_t])
loss = torch.stack([F.cross_entropy(o, label) for o in O_t])

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(6, 4), sharex=True)
axes[0].plot(t, acc, color="C0")
axes[0].set(ylabel="accuracy", ylim=(0.45, 1))
axes[1].plot(t, loss, color="C1")
axes[1].set(ylabel="cross-entropy", xlabel="threshold $t$")
for k, marker, color in ((0, "o", "C2"), (1, "^", "C3")):
    axes[0].plot(x[label == k], torch.full((12,), 0.5), marker, ms=5,
                 color=color, label=f"class {k}")
axes[0].legend(loc="upper right")
d2l.describe(axes, "Above, the accuracy over the threshold: a staircase "
             "with flat treads and a jump at every example. Below, the "
             "cross-entropy: a smooth bowl with its minimum near the "
             "highest steps.")

# %% [markdown]
# **Figure 4.3.4.** Accuracy is a staircase: flat between the jumps, it gives an optimizer no direction; the cross-entropy of the same classifier is a bowl.

# %%
assert acc.unique().numel() <= 25 and (acc.diff() == 0).float().mean() > 0.9
assert acc[loss.argmin()] >= acc.max() - 0.1
assert (loss.double().diff().diff() > -1e-6).all()  # convex in t
assert (1 - acc <= loss / torch.tensor(2.0).log()).all()
sure = torch.tensor([[0.0, 1e-6], [0.0, 50.0]])  # barely and surely wrong
costs = F.cross_entropy(sure, torch.tensor([0, 0]), reduction="none")
assert abs(costs[0] / torch.tensor(2.0).log() - 1) < 1e-5 and costs[1] > 49

# %%
# check 4.3-C9: accuracy has no gradient and ignores tiny changes
generator = torch.Generator().manual_seed(0)
O = torch.randn(1000, 10, generator=generator, dtype=torch.float64)
O.requires_grad_()
before = model.accuracy(O, truth)
assert not before.requires_grad
assert F.cross_entropy(O, truth).requires_grad
noise = 1e-6 * torch.randn(1000, 10, generator=generator)
assert model.accuracy(O + noise, truth) == before

# %% [markdown]
# There is a second reason for keeping probabilities inside.
# A mail program sorts messages into *primary*, *social*, *promotions* and a few more.
# Inside it has a probability per category; outside it must put the message into one folder.
# The same probabilities serve several decisions: to file the message, to send a notification, or to ask the user.
# The last part of this section returns to them.

# %% [markdown]
# ## Which classes are confused?
#
# One number hides which errors are made.
# The *confusion matrix* keeps them apart:
#
# $$C_{ij} = \sum_{k=1}^n\mathbf{1}\!\left[y^{(k)}=i\right]\mathbf{1}\!\left[\hat y^{(k)}=j\right],\qquad \mathbf{C} = \mathbf{Y}^\top\hat{\mathbf{Y}}. \tag{4.3.4}$$
#
# Here $y^{(k)}$ is the true class of example $k$ and $\hat y^{(k)}$ the answer; $C_{ij}$ counts how often class $i$ was answered by $j$, and $\mathbf{C}$ has shape $(q,q)$, one row for each true class.
# The second form holds because the indicators are the entries of the one-hot matrices $\mathbf{Y}$ and $\hat{\mathbf{Y}}$ of labels and answers, both of shape $(n,q)$; it is also the code.

# %% tags=["export"]
def confusion_matrix(y_hat, y, q):
    """Counts (q, q): entry [i, j] is how often i was answered by j.

    Predicted classes y_hat (n,) and true classes y (n,) are integers.
    """
    if y_hat.shape != y.shape:
        raise ValueError(f"{tuple(y_hat.shape)} predictions and "
                         f"{tuple(y.shape)} labels; pass classes (n,), "
                         "for scores take argmax(dim=-1) first.")
    Y, Y_hat = one_hot(y, q).double(), one_hot(y_hat, q).double()  # (n, q)
    return (Y.mT @ Y_hat).long()
# %% [markdown]
# We look at the classifier of Figure 4.3.1.
# A `LinearClassifier` with weights $2\boldsymbol\mu_k$ and biases $-\|\boldsymbol\mu_k\|^2$ is that classifier.

# %%
nearest = LinearClassifier(lr=0)
with torch.no_grad():
    nearest.net[1].weight.copy_(2 * means)
    nearest.net[1].bias.copy_(-means.square().sum(dim=1))
O_near, y = predict(nearest, data.val_dataloader())
torch.testing.assert_close(O_near, mean_scores(data.X_val))
y_hat = O_near.argmax(dim=-1)  # (10000,)
C = confusion_matrix(y_hat, y, 10)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 5.2))
d2l.heatmap(C, rows=names, cols=names, annotate="d", cmap="Blues",
            xlabel="answer", ylabel="true class", ax=ax)
ax.set_xticks(range(10), labels=names, rotation=45, ha="right")
d2l.describe(ax, "Ten by ten table of counts, dark along the diagonal. The "
             "row of shirt is spread over t-shirt, pullover, coat and "
             "sandal; pullover and coat are exchanged; the column of "
             "sandal has counts in nearly all rows.")

# %% [markdown]
# **Figure 4.3.5.** Errors of the nearest class mean: a row shows where the 1000 test pictures of a class went.
#
# The rows show that tops are mostly taken for other tops, and shoes for other shoes.
# One column shows something that the accuracy hides: pictures of every class are called *sandal*.
# The mean sandal is the darkest of the means, so perhaps whatever is dark lies near it, a dark shirt as well as a dark bag.
# Two measurements test this explanation: how bright the false sandals are, and what happens when every picture is first scaled to norm 1, which removes the brightness and keeps the pattern.

# %%
false = (y_hat == 5) & (y != 5)  # wrongly called sandal
bright = data.X_val.mean(dim=(1, 2, 3))  # (10000,)
per_class = torch.stack([bright[y == k].mean() for k in range(10)])
relative = (bright[false] / per_class[y[false]]).mean().item()
print(f"false sandals: {false.sum()}, brightness {relative:.2f} of the mean "
      "of their own class")

sums = torch.zeros(10, 784)
for X, label in data.train_dataloader():
    sums += one_hot(label, 10).mT @ F.normalize(X.flatten(1))
unit_means = sums / torch.bincount(data.y_train).unsqueeze(1)
unit_val = F.normalize(data.X_val.flatten(1))  # (10000, 784)
unit_hat = torch.cdist(unit_val, unit_means).argmin(dim=1)
unit_false = (unit_hat == 5) & (y != 5)
print(f"at norm 1: false sandals {unit_false.sum()}, accuracy "
      f"{(unit_hat == y).float().mean():.3f}")
if data.source == "real":
    assert (C[:, 5] > 0).all()  # of every class
    errors = C - C.diagonal().diag()
    for group in ([0, 2, 3, 4, 6], [5, 7, 9]):  # tops, shoes
        assert errors[group][:, group].sum() > 0.7 * errors[group].sum()
    assert 0.3 < relative < 0.5 and unit_false.sum() < 0.1 * false.sum()
    assert (unit_false & false).sum() < 0.1 * false.sum()
    assert (unit_hat == y).float().mean() > 0.69  # 0.677 before
    assert (unit_hat[y == 5] == 5).sum() < 0.7 * C[5, 5]  # the price

# %% [markdown]
# The explanation holds: the false sandals are on average less than half as bright as their classes, and at equal norm more than nine in ten of them disappear.
# So the confusion matrix pointed to a defect, and repairing it raised the accuracy, but at a price: a third of the sandals that were found before are now lost.

# %%
# check 4.3-C6: sum, trace and every single entry
assert C.sum() == len(y) == 10_000
accuracy = nearest.accuracy(O_near, y).item()
assert abs(C.trace().item() / len(y) - accuracy) < 1e-6
for i in range(10):
    for j in range(10):
        assert C[i, j] == ((y == i) & (y_hat == j)).sum()
if data.source == "real":
    assert abs(accuracy - 0.6768) < 2e-4  # as in Section 4.2
try:
    confusion_matrix(y_hat[1:], y, 10)
    raise AssertionError("answers for other examples were accepted")
except ValueError as error:
    print(error)

# %% [markdown]
# The diagonal holds the right answers, so accuracy is the trace divided by $n$.
# Dividing each row by its sum gives the *recall* of each class, the share of its examples that were found; the mean of the recalls is the *balanced accuracy*:
#
# $$\operatorname{recall}_i = \frac{C_{ii}}{\sum_jC_{ij}},\qquad \operatorname{bacc} = \frac1q\sum_{i}\operatorname{recall}_i. \tag{4.3.5}$$
#
# All are numbers between 0 and 1.
# Dividing a *column* by its sum answers another question: how many of the examples called $j$ really are $j$?
# This share is the *precision* of class $j$.

# %%
def recalls(C):
    """Share of each true class that was found, (q, q) -> (q,)."""
    return C.diagonal() / C.sum(dim=1)

precision = C.diagonal() / C.sum(dim=0)
print("             recall  precision")
for name, r, p in zip(names, recalls(C), precision):
    print(f"{name:12}{r:7.2f}{p:11.2f}")
print(f"accuracy {accuracy:.4f}, balanced {recalls(C).mean():.4f}")
if data.source == "real":  # 1000 of each class: the two must agree
    assert abs(accuracy - recalls(C).mean()) < 1e-6
    assert recalls(C).argmin() == names.index("shirt")
    wrong = C.sum(dim=0) - C.diagonal()  # wrongly called j
    assert wrong.argmax() == names.index("sandal")

# %% [markdown]
# For equally frequent classes accuracy and balanced accuracy coincide.
# Where one class is rare they part.
# Suppose that one patient in a hundred has a disease, and a "classifier" declares everybody healthy:

# %%
# check 4.3-C7: the constant answer on labels 99:1
sick = (torch.arange(10_000) % 100 == 0).long()  # 1 in 100
healthy = torch.zeros_like(sick)  # the constant answer
C2 = confusion_matrix(healthy, sick, 2)
print(C2.tolist())
assert abs(C2.trace() / C2.sum() - 0.99) < 1e-6
assert recalls(C2).mean() == 0.5

# %% [markdown]
# Accuracy 0.99, and not one patient found.
# The balanced accuracy is 0.5, the value of any constant answer for two classes.

# %% [markdown]
# ## The answer of least cost
#
# The classifier that declares everybody healthy shows a deeper problem: errors differ in what they cost.
# Sending a healthy person to a second test costs an hour; sending a patient home may cost a life.
# Let $l(y,y')$ be the cost of the answer $y'$ when $y$ is true.
# We do not know $y$, but a probabilistic classifier knows $P(y\mid\mathbf{x})$, and with it the expected cost of each answer, its *risk*.
# The best answer has the smallest:
#
# $$\hat y(\mathbf{x}) = \operatorname*{argmin}_{y'}\sum_yl(y,y')\,P(y\mid\mathbf{x}). \tag{4.3.6}$$
#
# The sum runs over the $q$ classes, $y'$ over the possible answers, $\mathbf{x}$ is the input.
# If every error costs 1 and a right answer nothing (*0-1 loss*), the risk of $y'$ is the sum of all other probabilities, $1-P(y'\mid\mathbf{x})$, and the minimum is at the most probable class.
# The argmax is thus the special case in which all errors are equally bad.
# For a batch, the risks of all answers are one product of matrices.

# %% tags=["export"]
def bayes_decision(probs, cost):
    """Answers (n,) of least expected cost.

    `probs` (n, q) holds class probabilities, `cost` (q, answers) what it
    costs to give an answer when a class is true: cost[true, answer].
    """
    risk = probs.double() @ cost.to(probs.device).double()  # (n, answers)
    return risk.argmin(dim=-1)
# %% [markdown]
# Take two classes, 1 for *alarm needed*.
# A false alarm costs $c_{FP}$ (*false positive*), a missed case $c_{FN}$ (*false negative*), and right answers cost nothing.
# With $p=P(1\mid\mathbf{x})$ the alarm has the risk $c_{FP}(1-p)$ and silence the risk $c_{FN}\,p$.
# The alarm is better iff $c_{FP}(1-p)<c_{FN}\,p$, that is
#
# $$p > \frac{c_{FP}}{c_{FP}+c_{FN}}. \tag{4.3.7}$$
#
# All quantities are numbers, and equal costs give the threshold $\frac12$.
# If a missed case is ten times as bad as a false alarm, the threshold is $\frac1{11}\approx0.091$.
# A patient who is healthy with probability 0.85 should then get the alarm: silence risks $10\cdot0.15=1.5$, the alarm $1\cdot0.85=0.85$.

# %%
# check 4.3-C8: threshold 1/11, an unlikely but right answer, 0-1 cost
cost = torch.tensor([[0.0, 1.0],    # healthy: silence, alarm
                     [10.0, 0.0]])  # sick:    silence, alarm
probs = torch.tensor([[0.85, 0.15]])
torch.testing.assert_close(probs @ cost, torch.tensor([[1.5, 0.85]]))
assert bayes_decision(probs, cost).tolist() == [1]
p = torch.linspace(0, 1, 10_001, dtype=torch.float64)  # (10001,)
alarm = bayes_decision(torch.stack([1 - p, p], dim=1), cost) == 1
assert torch.equal(alarm, p > 1 / 11)
assert abs(p[alarm].min() - 0.0909) < 2e-4
P = softmax(torch.randn(1000, 10, generator=generator))
assert torch.equal(bayes_decision(P, 1 - torch.eye(10)), P.argmax(dim=-1))

# %% [markdown]
# To test the threshold we make 20 000 cases, each with a random probability $p$ and a label that is 1 with just this probability, and compute for every threshold the mean expected cost and the mean cost that the labels caused.

# %%
generator = torch.Generator().manual_seed(1)
z = 1.5 * torch.randn(20_000, generator=generator) - 2
p = torch.sigmoid(z).double()  # probability of class 1 for each case
event = (torch.rand(20_000, generator=generator) < p).double()

def mean_cost(prob, threshold, c_fp, c_fn):
    """Mean cost of alarms where p > threshold; `prob` may be events."""
    return torch.where(p > threshold, c_fp * (1 - prob), c_fn * prob).mean()

t = torch.linspace(0, 1, 201, dtype=torch.float64)
curves, seen = {}, {}
for c_fn in (1, 10):
    curves[c_fn] = torch.stack([mean_cost(p, s, 1, c_fn) for s in t])
    seen[c_fn] = torch.stack([mean_cost(event, s, 1, c_fn) for s in t])

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.2))
for color, (c_fn, curve) in zip(("C0", "C1"), curves.items()):
    best = 1 / (1 + c_fn)
    ax.plot(t, curve, color=color, label=f"$c_{{FN}}={c_fn}$")
    ax.plot(t[::10], seen[c_fn][::10], "o", ms=4, color=color,
            fillstyle="none")
    ax.axvline(best, color=color, ls=":", linewidth=1.2)
    ax.plot(best, mean_cost(p, best, 1, c_fn), "*", ms=13, color=color)
ax.set(xlabel="threshold: alarm if $p$ exceeds it", ylabel="cost per case",
       xticks=[0, 1 / 11, 0.25, 0.5, 0.75, 1], ylim=(0, None),
       xticklabels=["0", "1/11", "1/4", "1/2", "3/4", "1"])
ax.legend(title="$c_{FP}=1$")
d2l.describe(ax, "Expected cost over the threshold for two costs of a "
             "missed case. For equal costs the minimum, a star, is at one "
             "half; for a missed case that costs ten it is at 1/11, and a "
             "threshold of one half costs much more. Circles, the costs "
             "that occurred, lie close to the curves.")

# %% [markdown]
# **Figure 4.3.6.** Expected cost (lines) and cost that occurred (circles) over the threshold; the minimum (star) is where (4.3.7) puts it.

# %%
for c_fn in (1, 10):
    lowest = t[curves[c_fn].argmin()]
    assert abs(lowest - 1 / (1 + c_fn)) < 0.006  # the step of t is 0.005
    error = (seen[c_fn] - curves[c_fn]).abs().max()
    assert 1e-4 < error < 0.1 * curves[c_fn].max()  # labels, not p
assert mean_cost(event, 1 / 11, 1, 10) < 0.8 * mean_cost(event, 0.5, 1, 10)

# %% [markdown]
# (4.3.6) needs probabilities that mean what they say.
# Here they did, by construction; [Section 4.4](04-softmax-regression-scratch.ipynb) measures whether those of a trained model do.

# %% [markdown]
# ## Summary
#
# - A `Classifier` is a `Module` whose validation step also reports accuracy; stochastic gradient descent is its default optimizer.
# - The mean of batch means overweights a smaller last batch; weighting by examples is exact, and (4.3.3) repairs a quick value.
# - Labels of shape $(n,1)$ against answers of shape $(n,)$ compare all pairs; with balanced classes every classifier then seems to guess.
# - Accuracy is piecewise constant in the parameters, so training minimizes a smooth surrogate.
# - The rows of the confusion matrix give the recalls, whose mean exposes a constant answer that accuracy rewards; its columns can point to a defect.
# - The best answer minimizes the expected cost; it is the most probable class only if all errors cost the same.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 4.3-1
#
# Derive the correction (4.3.3) for any number of examples $n$ and any batch size $B$, also for $B>n$ and for $B$ that divides $n$.
# Express $m$ and $r$ by $n$ and $B$, and test the result on random cases.

# %% [markdown]
# #### Solution 4.3-1

# %% [markdown]
# The number of batches is $m=\lceil n/B\rceil$, and the last one holds what the others leave, $r=n-(m-1)B$, between 1 and $B$.
# The derivation in the text used nothing else: the first $m-1$ batches have $B$ examples each, so $B\sum_{k<m}\ell_k=nL-r\,l^b$ holds for every $n$ and $B$.
# For $B>n$ there is one batch, $m=1$, $r=n$ and $L^q=l^b$; the formula gives $\frac{B\,l^b-(B-n)\,l^b}n=l^b$.
# For $B$ that divides $n$ we have $r=B$ and $mB=n$, and $L=L^q$ remains.

# %%
generator = torch.Generator().manual_seed(0)
for case in range(300):
    n, B = torch.randint(1, 200, (2,), generator=generator).tolist()
    values = torch.rand(n, dtype=torch.float64, generator=generator)
    quick, last = quick_mean(values, B)
    corrected = corrected_mean(quick, last, n, B)
    assert abs(corrected - values.mean()) < 1e-12
    if n % B == 0:
        assert abs(quick - values.mean()) < 1e-12

# %% [markdown]
# ### Exercise 4.3-2
#
# Is the quick average a biased estimate of the expected loss?
# Distinguish a random order of the examples from a sorted one, and compare the variance with that of the exact average.
# Simulate 10 000 independent losses in batches of 256.

# %% [markdown]
# #### Solution 4.3-2

# %% [markdown]
# In a random order each batch mean $\ell_k$ has the expectation of a single loss, whatever its size, and so has their mean: the quick average is *unbiased*.
# It is biased where the order is not random, as the sorted order in Figure 4.3.3 showed.
#
# Its variance is larger.
# For independent losses of variance $\sigma^2$ the exact mean has variance $\sigma^2/n$, the quick one
#
# $$\operatorname{Var}(L^q) = \frac{\sigma^2}{m^2}\left(\frac{m-1}B+\frac1r\right), \tag{4.3.8}$$
#
# with $m$ batches of size $B$, the last of size $r$, all numbers.
# For $n=10\,000$ and $B=256$ the ratio of the two is $\frac{10\,000}{1600}\left(\frac{39}{256}+\frac1{16}\right)\approx1.34$.
# A third more variance is the variance of an exact mean over a quarter fewer examples.

# %%
generator = torch.Generator().manual_seed(0)
exact, quick = [], []
for _ in range(40):
    sample = torch.empty(50, 10_000, dtype=torch.float64)
    sample.exponential_(2, generator=generator)  # mean 1/2
    exact.append(sample.mean(dim=1))
    batches = [b.mean(dim=1) for b in sample.split(256, dim=1)]
    quick.append(torch.stack(batches).mean(dim=0))
exact, quick = torch.cat(exact), torch.cat(quick)  # (2000,) each
predicted = 10_000 / 40**2 * (39 / 256 + 1 / 16)
print(f"means: exact {exact.mean():.4f}, quick {quick.mean():.4f}")
print(f"variances: ratio {quick.var() / exact.var():.2f}, "
      f"predicted {predicted:.2f}")
standard_error = exact.std() / 2000**0.5
assert abs(exact.mean() - 0.5) < 4 * standard_error
assert abs(quick.mean() - 0.5) < 5 * standard_error
assert abs(quick.var() / exact.var() - predicted) < 0.1

# %% [markdown]
# ### Exercise 4.3-3
#
# A doctor's program distinguishes *healthy*, *flu* and *pneumonia*.
# Choose a cost matrix in which errors in the two directions differ, and find a patient whose most probable class is not the best answer.
# Then add the answer "ask a specialist" at a cost of 0.2 to the 0-1 loss, and find out when it is given.

# %% [markdown]
# #### Solution 4.3-3

# %% [markdown]
# With the costs below, overlooking pneumonia is by far the worst error, and the program names it at a probability of only a quarter.
#
# For the 0-1 loss with rejection, the best of the three classes has the risk $1-\max_jp_j$ and rejection the risk 0.2, whatever the probabilities.
# So the program rejects iff $1-\max_jp_j>0.2$, that is $\max_jp_j<0.8$.
# The cost matrix has four columns then; `bayes_decision` accepts more answers than classes.

# %%
cost = torch.tensor([[0.0, 1.0, 3.0],    # true: healthy
                     [2.0, 0.0, 2.0],    # true: flu
                     [20.0, 8.0, 0.0]])  # true: pneumonia
patient = torch.tensor([[0.35, 0.40, 0.25]])
print("risks:", [round(v, 2) for v in (patient @ cost)[0].tolist()])
assert patient.argmax() == 1
assert bayes_decision(patient, cost).tolist() == [2]

# %%
generator = torch.Generator().manual_seed(0)
P = softmax(2 * torch.randn(10_000, 3, generator=generator).double())
reject = torch.cat([1 - torch.eye(3), torch.full((3, 1), 0.2)], dim=1)
answer = bayes_decision(P, reject)  # (10000,), 3 means: ask
assert torch.equal(answer == 3, P.max(dim=1).values < 0.8)
known = answer < 3
assert torch.equal(answer[known], P[known].argmax(dim=1))
assert 0.1 < known.double().mean() < 0.9

# %% [markdown]
# ### Exercise 4.3-4
#
# An answer counts as *top-k correct* if the true class is among the $k$ largest scores.
# Write `top_k_accuracy(Y_hat, Y, k)` and evaluate the nearest class mean with it.
# What must hold for $k=1$, for $k=q$, and for growing $k$?

# %% [markdown]
# #### Solution 4.3-4

# %% [markdown]
# For $k=1$ it is the accuracy.
# The $k$ largest scores are among the $k+1$ largest, so it cannot fall as $k$ grows, and for $k=q$ every class is included.

# %%
def top_k_accuracy(Y_hat, Y, k):
    """Share of labels (n,) among the k largest of the scores (n, q)."""
    best = Y_hat.topk(k, dim=-1).indices  # (n, k)
    return (best == Y.unsqueeze(-1)).any(dim=-1).float().mean().item()

top = [top_k_accuracy(O_near, Y, k) for k in range(1, 11)]
print([round(v, 3) for v in top])
assert abs(top[0] - accuracy) < 1e-6 and top[-1] == 1
assert all(a <= b for a, b in zip(top, top[1:]))

# %% [markdown]
# ### Exercise 4.3-5
#
# For many classes the one-hot matrices of (4.3.4) become large: 50 000 classes and a million answers would need $5\cdot10^{10}$ entries each.
# Write the confusion matrix with `torch.bincount`, which counts how often each integer occurs in a vector.

# %% [markdown]
# #### Solution 4.3-5

# %% [markdown]
# A pair of classes is turned into one integer, $q\,y+\hat y$, a different one for each pair.
# Counting these integers and reshaping gives the matrix; the memory needed is that of the labels and of the result.

# %%
def confusion_bincount(y_hat, y, q):
    return torch.bincount(q * y + y_hat, minlength=q * q).reshape(q, q)

assert torch.equal(confusion_bincount(y_hat, Y, 10), C)
generator = torch.Generator().manual_seed(0)
for q in (1, 2, 7):
    a, b = torch.randint(q, (2, 500), generator=generator)
    assert torch.equal(confusion_bincount(a, b, q),
                       confusion_matrix(a, b, q))

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the class `Classifier`.
# - C. Elkan (2001). The foundations of cost-sensitive learning. Proceedings of IJCAI: cost matrices and thresholds. [PDF](https://cseweb.ucsd.edu/~elkan/rescale.pdf).
# - C. K. Chow (1970). On optimum recognition error and reject tradeoff. IEEE Transactions on Information Theory 16(1). [doi:10.1109/TIT.1970.1054406](https://doi.org/10.1109/TIT.1970.1054406): the rule for rejection.
# - K. H. Brodersen, C. S. Ong, K. E. Stephan, J. M. Buhmann (2010). The balanced accuracy and its posterior distribution. ICPR. [doi:10.1109/ICPR.2010.764](https://doi.org/10.1109/ICPR.2010.764).
# - P. L. Bartlett, M. I. Jordan, J. D. McAuliffe (2006). Convexity, classification, and risk bounds. Journal of the American Statistical Association 101(473). [doi:10.1198/016214505000000907](https://doi.org/10.1198/016214505000000907): why minimizing a surrogate also reduces the error rate.
