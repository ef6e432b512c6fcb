# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         concise_epochs: 10
#         num_seeds: 5
#         few_seeds: 3
#         num_gpus: 1
#       smoke:
#         train_size: 3000
#         max_epochs: 2
#         longer_epochs: 2
#         concise_epochs: 1
#         adam_epochs: 1
#         stable_size: 2000
#         stable_epochs: 1
#         num_seeds: 2
#     rehearsal: {concise_epochs: 0.2, num_seeds: 0.6, few_seeds: 0.34}
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
# # 5.2 Implementation of multilayer perceptrons
#
# [Section 5.1](01-multilayer-perceptrons.ipynb) built networks by hand; this one trains them on images, first from tensors and then from layers, and tests that the two programs compute the same function.
# After that the question changes from "does it run?" to "is it better, and how do we know?", which takes more care than the program.
#
# **You will**
#
# - implement an MLP from scratch and with `nn.Sequential`, and test that both agree, before and during training;
# - predict the loss before the first step, and say why an MLP cannot start from zeros;
# - compare models fairly: same data in the same order, several seeds, an interval for what the test set cannot resolve;
# - measure what a hidden layer, its width and its activation function are worth, and on which recipe this depends.
#
# **Cost**: less than a minute on a CPU, no GPU needed; a download of 31 MB, once.

# %%
import copy
import math
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, SoftmaxRegression, error_interval)
from d2l_helpers.chapters.linear_regression import Trainer

d2l.use_style()
close = torch.testing.assert_close

# %% tags=["parameters"]
train_size = 60_000  # images of the source recipe
max_epochs = 10  # epochs of the source recipe
longer_epochs = 25  # further epochs of softmax regression
concise_epochs = 2  # epochs of the concise model on the same images
adam_epochs = 5  # epochs with Adam on the same images
stable_size = 10_000  # images of the stable recipe
stable_epochs = 5
num_seeds = 3
few_seeds = 1  # where many models are compared
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# Every number below belongs to one of two recipes.
#
# - The *source recipe* is that of Chapter 4: all 60 000 training images, SGD with learning rate 0.1, batches of 256, 10 epochs, all 10 000 test images. It takes longest, and its validation curves jitter.
# - The *stable recipe* is for comparisons: 10 000 training images, Adam with learning rate 0.001, batches of 64, 5 epochs, 2000 test images. A run takes a second or so and changes little with the seed.
#
# As in Chapter 4 the test images stand in for validation data.
# To choose a model for use, take `FashionMNIST(holdout=10_000)` instead and keep the test images for the end.

# %%
data = FashionMNIST(batch_size=256, train_size=train_size)
small = FashionMNIST(batch_size=64, train_size=stable_size, val_size=2000)
X, y = next(iter(data.val_dataloader()))  # (256, 1, 28, 28), (256,)

# %% [markdown]
# ## Implementation from scratch
#
# ### The activation function
#
# ReLU is a maximum with zeros, and we write it as one.

# %% tags=["export"]
def relu(X):
    """The larger of X and 0, entry by entry; X has any shape."""
    return torch.max(X, torch.zeros_like(X))

# %% [markdown]
# ### The model
#
# The network has 784 inputs, one for each pixel, 256 hidden units and 10 outputs.
# The first and the last number are given by the data.
# The width of the hidden layer is a *hyperparameter*, chosen by us; so is the number of hidden layers.
# Powers of 2 are customary, since memory and arithmetic units of the hardware come in such sizes (Exercise 5.2-6).
#
# ![From left to right: a box X of shape (n, 784); an operator X W1 + b1, fed from below by the parameters W1 of shape (784, 256) and b1 of shape (256,); ReLU; a box H of shape (n, 256); an operator H W2 + b2 with W2 of shape (256, 10) and b2 of shape (10,); a box O of shape (n, 10).](img/mlp-shapes.svg)
#
# **Figure 5.2.1.** The network as a program: values (blue), operations (rounded) and parameters (orange) with their shapes.

# %% [markdown]
# Each layer has a weight matrix and a bias:
#
# $$\mathbf{H} = \operatorname{ReLU}\left(\mathbf{X}\mathbf{W}^{(1)}+\mathbf{b}^{(1)}\right),\qquad \mathbf{O} = \mathbf{H}\mathbf{W}^{(2)}+\mathbf{b}^{(2)}. \tag{5.2.1}$$
#
# $\mathbf{X}$ of shape $(n,784)$ holds the flattened images of a minibatch, $\mathbf{H}$ of shape $(n,256)$ the hidden activations and $\mathbf{O}$ of shape $(n,10)$ the logits; the parameters have the shapes $(784,256)$, $(256,)$, $(256,10)$ and $(10,)$.
# The weights start as draws from $\mathcal{N}(0,0.01^2)$, the biases at 0.
# `nn.Parameter` registers all four, so `parameters()` finds them and nothing in `Module` or the optimizer has to change.
#
# The output has no softmax: it is part of the loss of every `Classifier` since [Section 4.5](../04-linear-classification/05-softmax-regression-concise.ipynb).
# A common way to flatten is `X.reshape(-1, num_inputs)`.
# It accepts four images of $14\times14$ pixels as one row, as [Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb) showed; with `len(X)` in place of $-1$ this is an error.

# %% tags=["export"]
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

# %% [markdown]
# The number of parameters is $784\cdot256+256+256\cdot10+10=203\,530$, against $784\cdot10+10=7850$ of softmax regression.
# All but about one percent of them belong to the first layer.

# %%
# check 5.2-C1: parameters, output, and a gradient for each parameter
torch.manual_seed(0)
model = MLPScratch(num_inputs=784, num_outputs=10, num_hiddens=256, lr=0.1)
for name, p in model.named_parameters():
    print(f"{name:3}{str(tuple(p.shape)):12}{p.numel():8}")
assert sum(p.numel() for p in model.parameters()) == 203_530
assert len(list(model.parameters())) == 4
for W, b in ((model.W1, model.b1), (model.W2, model.b2)):  # N(0, 0.01^2)
    assert abs(W.std() - 0.01) < 1e-3 and abs(W.mean()) < 1e-3
    assert not b.any()
assert model(X).shape == (len(X), 10)
model.loss(model(X), y).backward()
assert all(p.grad is not None and p.grad.abs().sum() > 0
           for p in model.parameters())

# %% [markdown]
# Before training, the logits are near 0, every class gets a probability near $\frac1{10}$, and the loss must be near $\log10\approx2.303$.
# An implementation that starts elsewhere has a bug, or weights that are too large.

# %%
# check 5.2-C4: the loss before the first step
with torch.no_grad():
    start = model.loss(model(X), y).item()
print(f"loss {start:.4f}, log 10 = {math.log(10):.4f}")
assert abs(start - math.log(10)) < 0.1

# %% [markdown]
# Softmax regression could start from zeros.
# An MLP cannot.
# With all weights 0 the hidden activations are 0, and by the chain rule the gradient of $\mathbf{W}^{(2)}$ is a product with these activations, the gradient of $\mathbf{W}^{(1)}$ a product with $\mathbf{W}^{(2)}$.
# Both are zero, in every step.
# Only the output bias learns, and all it can learn is the frequencies of the classes.

# %%
torch.manual_seed(0)
stuck = MLPScratch(784, 10, 256, lr=0.1, sigma=0)
optim = stuck.configure_optimizers()
for X_batch, y_batch in list(small.train_dataloader())[:20]:
    loss = stuck.loss(stuck(X_batch), y_batch)
    optim.zero_grad()
    loss.backward()
    optim.step()
moved = {name: bool((p != 0).any()) for name, p in stuck.named_parameters()}
print("moved after 20 steps:", moved)
assert moved == {"W1": False, "b1": False, "W2": False, "b2": True}

# %% [markdown]
# [Section 5.4](04-numerical-stability-and-initialization.ipynb) explains which starts are good; here small random numbers do.

# %% [markdown]
# ### Training
#
# The loop is the one of softmax regression, down to the last line.
# We run the source recipe.

# %% tags=["rtol=0.1"]
torch.manual_seed(0)
model = MLPScratch(num_inputs=784, num_outputs=10, num_hiddens=256, lr=0.1)
trainer = Trainer(max_epochs=max_epochs, num_gpus=num_gpus)
trainer.fit(model, data)
model = model.to("cpu")
history = trainer.history

# %% [markdown]
# **Figure 5.2.2.** The MLP from scratch, source recipe.
# The training loss falls steadily; the validation curves jitter.

# %% [markdown]
# How much of this is due to the hidden layer?
# We train softmax regression in the same way and draw both.
# Then we let softmax regression go on for 25 more epochs, once with the same SGD and once with Adam.

# %% tags=["rtol=0.1"]
torch.manual_seed(0)
softmax = SoftmaxRegression(num_outputs=10, lr=0.1)
softmax.board.display = False
trainer = Trainer(max_epochs=max_epochs, num_gpus=num_gpus)
trainer.fit(softmax, data)
reference = trainer.history
longer = {}
for kind in ("SGD", "Adam"):
    further = copy.deepcopy(softmax)
    if kind == "Adam":
        further.configure_optimizers = lambda: torch.optim.Adam(
            further.parameters(), lr=1e-3)
    trainer = Trainer(max_epochs=longer_epochs, num_gpus=num_gpus)
    trainer.fit(further, data)
    longer[kind] = trainer.history

# %% tags=["rtol=0.1", "hide-input"]
epochs = torch.arange(1, max_epochs + 1)
_, axes = plt.subplots(1, 2, figsize=(6.8, 2.8))
for ax, key, ylabel in ((axes[0], "train_loss", "training loss"),
                        (axes[1], "val_acc", "validation accuracy")):
    d2l.plot(epochs, [history[key], reference[key]],
             ["MLP", "softmax regression"], xlabel="epoch", ylabel=ylabel,
             fmts=("o-", "s--"), ax=ax)
    for kind, ls in (("SGD", "-."), ("Adam", ":")):
        ax.axhline(longer[kind][key][-1], color="C1", ls=ls, lw=1.2,
                   label=f"{longer_epochs} more epochs, {kind}")
    ax.legend()
d2l.describe(axes, """Training loss and validation accuracy of the MLP and of
    softmax regression over the epochs. The loss of the MLP starts higher,
    crosses after two or three epochs, and ends well below. Two lines mark
    softmax regression after 25 more epochs: with SGD its loss is still
    above the last one of the MLP, with Adam slightly below. The
    accuracies of the first ten epochs jitter and cross several times.""")

# %% [markdown]
# **Figure 5.2.3.** The MLP starts from small weights in both layers and needs an epoch or two to get going; after ten epochs its training loss is well below that of softmax regression after the same ten.
# The thin lines are softmax regression after 25 more epochs: with SGD it does not get as low as the MLP, with Adam it does.

# %%
# check 5.2-C5: source recipe, real data
print(f"last epoch, MLP: training loss {history['train_loss'][-1]:.3f}; "
      f"softmax regression: {reference['train_loss'][-1]:.3f}, "
      f"later, SGD {longer['SGD']['train_loss'][-1]:.3f}, "
      f"Adam {longer['Adam']['train_loss'][-1]:.3f}")
full_run = (data.source == "real" and train_size == 60_000
            and max_epochs == 10 and longer_epochs >= 25)
assert history["train_loss"][-1] < math.log(10)  # on any data
if full_run:
    assert 0.36 < history["train_loss"][-1] < 0.40
    assert 0.80 < history["val_acc"][-1] < 0.88
    assert history["train_loss"][-1] < reference["train_loss"][-1] - 0.03
    assert abs(reference["train_loss"][-1] - 0.447) < 0.01
    assert (longer["Adam"]["train_loss"][-1] < history["train_loss"][-1]
            < longer["SGD"]["train_loss"][-1] - 0.01)
    late = history["val_acc"][5:]
    for run in longer.values():
        assert abs(run["val_acc"][-1] - late[-1]) < max(late) - min(late)

# %% [markdown]
# At equal epochs the MLP wins clearly in training loss.
# The linear model catches up with more epochs and a better optimizer, and in validation accuracy the two then differ by less than the jitter.
# So this recipe, which stops the MLP long before it has converged, cannot say what the hidden layer is worth.
# The comparison at the end of this section does better.

# %% [markdown]
# ### The corner of ReLU
#
# PyTorch offers several other spellings of `relu`, all with the same values.
# Their gradients are the same too, except at exactly 0, where ReLU has no derivative and every implementation makes its own choice.

# %%
def gradient(function, X):
    """Derivative of an elementwise function at each entry of X."""
    X = X.clone().requires_grad_()
    function(X).sum().backward()
    return X.grad


spellings = {"torch.relu(X)": torch.relu, "torch.max(X, zeros)": relu,
             "X.clamp(min=0)": lambda X: X.clamp(min=0)}
points = torch.tensor([-1.0, 0.0, 1.0])
for name, function in spellings.items():
    print(f"{name:20} values {function(points).tolist()}, "
          f"gradients {gradient(function, points).tolist()}")

# %%
# check 5.2-C2: three spellings, one function, three gradients at 0
Z = torch.randn(1000, generator=torch.Generator().manual_seed(0))
for function, at_zero in zip(spellings.values(), (0, 0.5, 1)):
    assert torch.equal(function(Z), torch.relu(Z))
    assert torch.equal(gradient(function, Z), (Z > 0).float())
    assert gradient(function, points)[1] == at_zero

# %% [markdown]
# `torch.relu` takes the left derivative, `clamp` the right one, and `max` shares the gradient of a tie between its two arguments.
# Each choice is a number between 0 and 1, so each is a *subgradient*: the slope of a line that touches the graph at the corner and nowhere lies above it.
# A sum of hundreds of products of real numbers is hardly ever exactly 0, so the choice hardly matters in training.
# We count: among all sums that enter the ReLU for a batch, how many are exactly 0?

# %% tags=["rtol=0.1"]
with torch.no_grad():
    Z = X.flatten(1) @ model.W1 + model.b1  # (256, 256)
share = (Z > 0).float().mean().item()
print(f"exact zeros: {(Z == 0).sum().item()} of {Z.numel()}; "
      f"positive: {share:.0%}")
assert (Z == 0).sum() <= 10 and 0.02 < share < 0.98

# %% [markdown]
# ### What the hidden units look at
#
# A column of $\mathbf{W}^{(1)}$ has one weight for each pixel and can be drawn as an image, as the columns of softmax regression in [Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb).
# We choose the units with the largest weights.

# %% tags=["chaotic", "hide-input"]
norms = torch.linalg.vector_norm(model.W1.detach(), dim=0)  # (256,)
chosen = norms.argsort(descending=True)[:16]
_, axes = plt.subplots(2, 8, figsize=(7.2, 2.1))
for ax, i in zip(axes.flat, chosen.tolist()):
    w = model.W1.detach()[:, i].reshape(28, 28)
    limit = w.abs().max().item()
    ax.imshow(w, cmap="RdBu", vmin=-limit, vmax=limit)
    ax.axis("off")
d2l.describe(axes, """Sixteen columns of the first weight matrix as images,
    blue for positive and red for negative weights, with much noise. Some
    have strong weights at the neckline, along a vertical line in the middle,
    at the sides of the body, or in patches; none shows a whole garment.""")

# %% [markdown]
# **Figure 5.2.4.** Weights of sixteen hidden units, positive in blue, negative in red.
# Some respond to parts that have a name: the neckline at the upper edge, the gap between the legs of trousers, the sides of a body.
# Others combine patches that have none, and none of the sixteen shows a whole garment.

# %% [markdown]
# ## Concise implementation
#
# ### The model
#
# Compared with softmax regression there is one more fully connected layer, and an activation function between the two.
# `Module.forward` calls `self.net(X)`, so the class needs no `forward` of its own.

# %% tags=["export"]
class MLP(Classifier):
    """A perceptron with one hidden layer; returns logits (n, q)."""

    def __init__(self, num_outputs, num_hiddens, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(num_hiddens), nn.ReLU(),
            nn.LazyLinear(num_outputs))

# %% [markdown]
# The class is not only shorter.
# In `MLPScratch` every layer has its own names, `W1`, `b1`, and a line in `forward`.
# To put a layer between the forty-second and the forty-third of a deep network we would have to rename everything after it.
# In `nn.Sequential` it is one more entry in a list.
# MLPs with one hidden layer and handwritten gradients were the practice of the late 1980s.

# %% [markdown]
# ### The same function
#
# Two programs that are meant to do the same thing should be tested against each other.
# One difference matters here: our weights have the shape (inputs, outputs) and are used as $\mathbf{X}\mathbf{W}$, while `nn.Linear` stores (outputs, inputs) and computes $\mathbf{X}\mathbf{W}^\top$.
# So a copy has to transpose.

# %%
@torch.no_grad()
def copy_weights(scratch, concise):
    """Give an MLP the parameters of an MLPScratch."""
    hidden, output = concise.net[1], concise.net[3]
    hidden.weight.copy_(scratch.W1.mT)  # (d, h) -> (h, d)
    hidden.bias.copy_(scratch.b1)
    output.weight.copy_(scratch.W2.mT)  # (h, q) -> (q, h)
    output.bias.copy_(scratch.b2)


torch.manual_seed(1)
scratch = MLPScratch(784, 10, 256, lr=0.1)
concise = MLP(num_outputs=10, num_hiddens=256, lr=0.1)
concise(X)  # creates the parameters of the lazy layers
copy_weights(scratch, concise)

# %% [markdown]
# Equal outputs do not imply equal training.
# So we take 20 steps of SGD with both, on the same batches, and compare the parameters.

# %%
# check 5.2-C3: equal logits, and equal parameters after 20 equal steps
close(scratch(X), concise(X), rtol=0, atol=1e-5)
before = scratch.W1.detach().clone()
batches = list(data.train_dataloader())[:20]
for m in (scratch, concise):
    optim = m.configure_optimizers()
    for X_batch, y_batch in batches:
        loss = m.loss(m(X_batch), y_batch)
        optim.zero_grad()
        loss.backward()
        optim.step()
assert (scratch.W1 - before).abs().max() > 1e-3  # they did move
hidden, output = concise.net[1], concise.net[3]
for ours, theirs in ((scratch.W1, hidden.weight.mT),
                     (scratch.b1, hidden.bias),
                     (scratch.W2, output.weight.mT),
                     (scratch.b2, output.bias)):
    close(ours, theirs, rtol=0, atol=1e-4)

# %% [markdown]
# ### Training
#
# Nothing changes but the model: architecture, data, loss and loop are separate parts.
# A few epochs suffice here.
# We make a new `Trainer`, as always, since its counters and its history belong to one run.

# %%
torch.manual_seed(0)
concise = MLP(num_outputs=10, num_hiddens=256, lr=0.1)
concise.board.display = False
trainer = Trainer(max_epochs=concise_epochs, num_gpus=num_gpus)
trainer.fit(concise, data)
print("training loss, epoch by epoch")
for name, losses in (("from scratch", history["train_loss"]),
                     ("concise", trainer.history["train_loss"])):
    print(f"{name:13}", "  ".join(f"{v:.2f}" for v in losses[:2]))
assert trainer.history["train_loss"][0] < history["train_loss"][0]
if full_run:
    assert trainer.history["train_loss"][0] < history["train_loss"][0] - 0.1

# %% [markdown]
# The concise model is ahead, although from equal weights the two take equal steps.
# What differs is the start: by default `nn.Linear` draws uniform numbers up to $1/\sqrt{784}\approx0.036$ in the first layer and up to $1/\sqrt{256}\approx0.063$ in the second, larger than our draws of size 0.01, and each layer's gradient contains the weights of the other.
# [Section 5.4](04-numerical-stability-and-initialization.ipynb) turns this observation into a theory.

# %% [markdown]
# ## Comparing models
#
# ### What is fair
#
# An accuracy on 2000 test images is an estimate.
# By [Section 4.6](../04-linear-classification/06-generalization-classification.ipynb) an accuracy near 0.85 has a 95 % interval of about $\pm0.016$.
# Moreover, a second training run with other random numbers gives another model.
# A difference of one percentage point between two single runs may therefore mean nothing.
# Three measures help.
#
# - Several *seeds*: each gives another start and another order of the batches. The mean varies less than a single run.
# - The *same* seeds, data and order of batches for all models.
# - The same test images: those that both models get right, or both wrong, then cancel in the difference.
#
# All runs from here on use the stable recipe unless the text names another.

# %%
device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")
X_train, y_train = small.X_train.to(device), small.y_train.to(device)
X_val, y_val = small.X_val.to(device), small.y_val.to(device)


def hits(model):
    """Which test images the model gets right, shape (2000,)."""
    with torch.no_grad():
        return model.accuracy(model(X_val), y_val, averaged=False).cpu()


def fit(model, seed, lr=1e-3, epochs=stable_epochs):
    """The stable recipe; returns the accuracy after each epoch."""
    model.to(device)
    generator = torch.Generator().manual_seed(seed)
    loader = d2l.BatchLoader((X_train, y_train), 64, shuffle=True,
                             generator=generator)
    optim = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    accuracies = []
    for _ in range(epochs):
        for X_batch, y_batch in loader:
            loss = model.loss(model(X_batch), y_batch)
            optim.zero_grad()
            loss.backward()
            optim.step()
        accuracies.append(hits(model).mean().item())
    return accuracies

# %% [markdown]
# (`fused=True` lets Adam update all parameters in one compiled loop, which differs in the last digits only.)
# `sweep` trains one model for each seed.
# The seed fixes the weights and the order of the batches.

# %%
def sweep(make_model, seeds):
    """Train a model for each seed: models, and accuracies (seeds,)."""
    models, accuracies = [], []
    for seed in seeds:
        torch.manual_seed(seed)
        model = make_model()
        model(small.X_val[:1])  # creates the parameters of lazy layers
        accuracies.append(fit(model, seed)[-1])
        models.append(model)
    return models, torch.tensor(accuracies)


def make_softmax():
    return SoftmaxRegression(num_outputs=10, lr=0.1)


def make_mlp(width, activation=nn.ReLU):
    """An MLP with this many hidden units and this activation."""
    model = MLP(num_outputs=10, num_hiddens=width, lr=0.1)
    model.net[2] = activation()
    return model


seeds = range(num_seeds)
linear_models, linear_acc = sweep(make_softmax, seeds)
mlp_models, mlp_acc = sweep(lambda: make_mlp(256), seeds)

# %% tags=["hide-input"]
def retrained(start, order):  # one seed for the weights, one for batches
    torch.manual_seed(start)
    model = make_softmax()
    model(small.X_val[:1])
    fit(model, order)
    return model.net[-1].weight


swept_weight = linear_models[1].net[-1].weight
close(retrained(1, 1), swept_weight, rtol=0, atol=1e-3)
for other in (retrained(0, 1), retrained(1, 0)):  # a seed fixes both
    assert (other - swept_weight).abs().max() > 1e-2

# %% tags=["rtol=0.1"]
for name, acc in (("softmax regression", linear_acc), ("MLP", mlp_acc)):
    print(f"{name:19}", "  ".join(f"{a:.3f}" for a in acc.tolist()),
          f"  mean {acc.mean():.3f}")
errors = round(2000 * (1 - mlp_acc[0].item()))
low, high = error_interval(errors, 2000)
print(f"interval of the first MLP: {1 - high:.3f} to {1 - low:.3f}")

# %%
# check 5.2-C6: stable recipe, real data: the hidden layer helps
stable_run = (small.source == "real" and stable_size >= 10_000
              and stable_epochs >= 5 and num_seeds >= 3)
assert 0.01 < (high - low) / 2 < 0.025
if stable_run:
    assert 0.015 < mlp_acc.mean() - linear_acc.mean() < 0.035
    assert 0.83 < mlp_acc.mean() < 0.87
    assert 0.81 < linear_acc.mean() < 0.84

# %% [markdown]
# Each MLP is better than the softmax regression with the same seed.
# Is the difference larger than 2000 images can resolve?
# For each image let $\delta_i$ be 1 if only the MLP is right, $-1$ if only the linear model is right, and 0 if they agree.
# The mean of the $\delta_i$ is the difference of the accuracies, and its standard error $s_\delta/\sqrt{2000}$, with $s_\delta$ the standard deviation of the $\delta_i$, takes into account that both saw the same images.

# %% tags=["rtol=0.1"]
def paired(model, other):
    """Difference of accuracies and its standard error."""
    delta = hits(model) - hits(other)  # (2000,): 1, 0 or -1
    return delta.mean().item(), delta.std().item() / math.sqrt(len(delta))


for seed in seeds:
    pair = mlp_models[seed], linear_models[seed]
    gain, error = paired(*pair)
    apart = (hits(pair[0]) != hits(pair[1])).float().mean().item()
    assert abs(2000 * error**2 - (apart - gain**2)) < 1e-3
    print(f"seed {seed}: gain {gain:.3f} with standard error {error:.3f}")
    if stable_run:
        assert gain > 2 * error and 2 * error < 0.016

# %% [markdown]
# Two standard errors of the paired difference are less than the 0.016 of a single accuracy, and for each seed the gain is larger than two of them: two to three points after five epochs on 10 000 images.
# With more data and training it is another number.
# We repeat the comparison with all 60 000 images, one seed, and batches of 256.

# %% tags=["rtol=0.1"]
large = {}
for name, make in (("softmax regression", make_softmax),
                   ("MLP", lambda: make_mlp(256))):
    torch.manual_seed(0)
    model = make()
    model(X)
    model.configure_optimizers = lambda: torch.optim.Adam(
        model.parameters(), lr=1e-3, fused=True)
    model.board.display = False
    trainer = Trainer(max_epochs=adam_epochs, num_gpus=num_gpus)
    trainer.fit(model, data)
    large[name] = trainer.history["val_acc"][-1]
    print(f"{name:19} {large[name]:.3f} with Adam on {len(data.X_train)} "
          "images")
if full_run and adam_epochs >= 5:
    assert large["MLP"] - large["softmax regression"] > 0.015

# %% [markdown]
# The gain is real, it depends on the recipe, and it is smaller than the fame of deep learning suggests: on these images a linear model comes a long way.

# %% [markdown]
# ### Width
#
# How many hidden units does it take?

# %% tags=["rtol=0.1"]
widths = [1, 4, 16, 64, 256]
swept = {w: sweep(lambda: make_mlp(w), seeds) for w in widths[:-1]}
swept[256] = mlp_models, mlp_acc
print("hidden units  parameters  accuracy: mean  lowest  highest")
for width in widths:
    models, acc = swept[width]
    size = sum(p.numel() for p in models[0].parameters())
    print(f"{width:12}{size:12}{acc.mean():16.3f}{acc.min():8.3f}"
          f"{acc.max():9.3f}")

# %%
# check 5.2-C7: accuracy against width; one unit is a bottleneck (real data)
mean = {w: acc.mean().item() for w, (_, acc) in swept.items()}
for width in widths:
    size = sum(p.numel() for p in swept[width][0][0].parameters())
    assert size == 784 * width + width + width * 10 + 10
if stable_run:
    assert all(mean[b] > mean[a] - 0.01 for a, b in zip(widths, widths[1:]))
    assert mean[256] > mean[16] > mean[4] + 0.05
    assert linear_acc.mean() > mean[4] + 0.08  # worse than no layer
    assert swept[1][1].max() < 0.45

# %% tags=["rtol=0.1", "hide-input"]
middle = torch.tensor([mean[w] for w in widths])
low = torch.stack([swept[w][1].min() for w in widths])
high = torch.stack([swept[w][1].max() for w in widths])
_, ax = plt.subplots(figsize=(5, 3))
ax.errorbar(widths, middle, yerr=torch.stack((middle - low, high - middle)),
            fmt="o-", capsize=4, label="MLP, mean and range")
ax.axhline(linear_acc.mean().item(), ls="--", color="C1",
           label="softmax regression")
ax.set(xscale="log", xlabel="hidden units", ylabel="accuracy", ylim=(0, 1))
ax.set_xticks(widths, widths)
ax.minorticks_off()
ax.legend(loc="lower right")
d2l.describe(ax, """Accuracy against the number of hidden units with the range
    over the seeds. It is near chance for one unit, rises steeply to four
    and sixteen units, crosses softmax regression between 16 and 64, and
    flattens above that line.""")

# %% [markdown]
# **Figure 5.2.5.** Accuracy against width, stable recipe.
# With few units the hidden layer is a bottleneck that a linear model does not have, and the accuracy is lower than with none.
#
# From 16 units on, further accuracy takes many more units.
# With a single unit all that the output layer learns about an image is one number, and for some seeds not even that, because the unit is inactive for all images (Exercise 5.2-3).

# %% [markdown]
# ### Activation functions
#
# The same network with six functions between its layers; the last, the identity, makes it a linear model by (5.1.4).
# To save time, each is trained with one seed, the same for all.

# %% tags=["rtol=0.1"]
kinds = {"ReLU": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
         "GELU": nn.GELU, "SiLU": nn.SiLU, "identity": nn.Identity}
few = range(few_seeds)
by_kind = {"ReLU": mlp_acc[:few_seeds]}
for name, kind in kinds.items():
    if name != "ReLU":
        by_kind[name] = sweep(lambda: make_mlp(256, kind), few)[1]
for name, acc in by_kind.items():
    print(f"{name:9} {acc.mean():.3f}")

# %% tags=["rtol=0.1", "hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.8))
rows = list(by_kind)[::-1] + ["softmax regression"]
for i, name in enumerate(rows):
    acc = by_kind.get(name, linear_acc[:few_seeds])
    ax.errorbar(acc.mean().item(), i, xerr=0.016, fmt="none", capsize=4,
                color="#999999")
    ax.plot(acc, [i] * len(acc), "o", ms=6, color="C0")
ax.set_yticks(range(len(rows)), rows)
ax.set(xlabel="accuracy", ylim=(-0.6, len(rows) - 0.4))
d2l.describe(ax, """Accuracies with six activation functions and of
    softmax regression, with intervals of plus and minus 0.016. ReLU, sigmoid,
    tanh, GELU and SiLU lie close together near 0.85; the identity and softmax
    regression lie together near 0.83.""")

# %% [markdown]
# **Figure 5.2.6.** Accuracy with each activation function (dots), and the interval that 2000 test images leave (grey).
# These runs do not tell the nonlinear ones apart; the identity stands with the linear model.

# %%
# check 5.2-C8: nonlinearities alike, identity like a linear model (real)
level = {name: acc.mean().item() for name, acc in by_kind.items()}
curved = [level[name] for name in level if name != "identity"]
if stable_run:
    assert max(curved) - min(curved) < 0.02
    assert abs(level["identity"] - linear_acc.mean().item()) < 0.015
    assert sum(curved) / len(curved) - level["identity"] > 0.005
with torch.no_grad():
    torch.manual_seed(0)
    flat = make_mlp(256, nn.Identity)
    flat(X)
    W = flat.net[3].weight @ flat.net[1].weight  # (10, 784)
    b = flat.net[3].weight @ flat.net[1].bias + flat.net[3].bias  # (10,)
    close(flat(X), X.flatten(1) @ W.mT + b, rtol=0, atol=1e-5)

# %% [markdown]
# ReLU owes its fame to deep networks, where the gradient passes through many activation functions.
# With one hidden layer, in this recipe, the five nonlinear functions lie within the uncertainty of the comparison, the sigmoid included.
# What matters here is that there is a nonlinear function at all.

# %% [markdown]
# ## Summary
#
# - An MLP with one hidden layer is two matrix products with a nonlinear function between them; loss, data and training loop stay as they were.
# - It starts from small random weights, where the loss is near $\log q$. From zeros, with ReLU, no weight ever moves.
# - `nn.Linear` stores its weight as (outputs, inputs); with transposed copies the two implementations agree, and stay equal through training.
# - `torch.relu`, `torch.max` and `clamp` differ in the gradient at exactly 0, a value that hardly occurs in training.
# - A comparison needs the same data and order, several seeds, and an interval; paired on the same test images it resolves more.
# - A training loss after a fixed number of epochs says how fast a model learns, not what it can reach.
# - On Fashion-MNIST, in the stable recipe, a hidden layer of 256 units is worth two to three points of accuracy, the kind of nonlinearity nothing that we could measure, and a layer of four units costs more than ten points.

# %% [markdown]
# ## Exercises
#
# ### Exercise 5.2-1
#
# Find a good number of hidden units: refine Figure 5.2.5 between 4 and 64.
# From which width on is the MLP at least as good as softmax regression?
# Can a few seeds tell 64 from 256?

# %% [markdown]
# #### Solution 5.2-1

# %% [markdown]
# Two more widths, two seeds each, with the standard deviation over the seeds.
# The crossing lies between 16 and 64 units, where the network already has more parameters than softmax regression.
# Between 64 and 256 the mean gains about a point, more than the seeds scatter; but few seeds prove little, and the test images add an interval of $\pm0.016$, so this is likely rather than certain.
# More units cost time and memory, so a good width is one where the curve has flattened, here somewhere above 64.

# %% tags=["rtol=0.1"]
for width in (8, 32):
    swept[width] = sweep(lambda: make_mlp(width), range(2))
for width in sorted(swept):
    acc = swept[width][1]
    print(f"{width:4} units: {acc.mean():.3f} +- {acc.std():.3f}")
mean = [swept[w][1].mean().item() for w in sorted(swept)]
if stable_run:
    assert all(b > a - 0.01 for a, b in zip(mean, mean[1:]))
    assert swept[8][1].mean() < linear_acc.mean() < mean[-1]

# %% [markdown]
# ### Exercise 5.2-2
#
# Add a second hidden layer of 256 units.
# How many parameters does the network have, and what is the layer worth?

# %% [markdown]
# #### Solution 5.2-2

# %% [markdown]
# The new layer has $256\cdot256+256=65\,792$ parameters, which makes $269\,322$ in all.
# In `nn.Sequential` it is two more entries.
# On these images the accuracy stays within the uncertainty of the comparison.

# %% tags=["rtol=0.1"]
def make_deep():
    model = MLP(num_outputs=10, num_hiddens=256, lr=0.1)
    model.net.insert(3, nn.LazyLinear(256))
    model.net.insert(4, nn.ReLU())
    return model


deep_models, deep_acc = sweep(make_deep, few)
size = sum(p.numel() for p in deep_models[0].parameters())
print(f"{size} parameters, accuracy {deep_acc.mean():.3f}, "
      f"one hidden layer {mlp_acc[:few_seeds].mean():.3f}")
assert size == 269_322
if stable_run:
    assert abs(deep_acc.mean() - mlp_acc.mean()) < 0.02

# %% [markdown]
# ### Exercise 5.2-3
#
# Why is a hidden layer with a single unit a bad idea?
# What do the logits of all images look like in the space of ten dimensions, and how many classes can such a network predict?

# %% [markdown]
# #### Solution 5.2-3

# %% [markdown]
# With one unit $\mathbf{o}=\mathbf{b}^{(2)}+h\,\mathbf{w}$ with $\mathbf{w}\in\mathbb{R}^{10}$, the only row of $\mathbf{W}^{(2)}$, and a number $h\ge0$.
# All logits lie on a ray from $\mathbf{b}^{(2)}$ in the direction $\mathbf{w}$; the matrix of centred logits has rank 1 (or 0, if the unit is inactive for all images).
# Each logit is a linear function of $h$, and the prediction is the class whose line is highest: the network sorts the images along one axis and cuts it into intervals, one for each predicted class.
# Ten classes would need ten such intervals in a suitable order, and the images sorted by one weighted sum of pixels.

# %%
single = swept[1][0][0].cpu()  # seed 0
with torch.no_grad():
    h = single.net[:3](small.X_val)  # (2000, 1)
    logits = single(small.X_val)  # (2000, 10)
    bias, w = single.net[3].bias, single.net[3].weight[:, 0]  # (10,), (10,)
close(logits, bias + h * w, rtol=1e-4, atol=1e-4)
assert (h >= 0).all()
centred = (logits - logits.mean(dim=0)).double()
singular = torch.linalg.svdvals(centred)  # (10,)
assert singular[1] < 1e-5 * singular[0]
active = h.max().item() > 0
scarce = len(logits.argmax(dim=1).unique()) <= 5
print("unit active for some images:", active,
      " at most five classes predicted:", scarce)
if stable_run:
    assert active and scarce

# %% tags=["rtol=0.1"]
grid = torch.linspace(0, h.max().item(), 200)[:, None]  # (200, 1)
lines = bias.detach() + grid * w.detach()  # (200, 10)
_, ax = plt.subplots(figsize=(5, 3))
ax.plot(grid, lines, color="#999999", lw=1)
ax.plot(grid, lines.amax(dim=1), color="C1", lw=3, label="highest logit")
ax.set(xlabel="h, activation of the only hidden unit", ylabel="logits")
ax.legend()
d2l.describe(ax, """Ten logits as straight lines over the activation of the
    only hidden unit. Only a few of them are the highest somewhere, and only
    these classes can be predicted.""")

# %% [markdown]
# **Figure 5.2.7.** With one hidden unit the ten logits are lines over its activation; only the classes on the upper edge are ever predicted.

# %% [markdown]
# ### Exercise 5.2-4
#
# On the stable recipe, vary the learning rate of Adam and the number of epochs, with 64 hidden units.
# What happens at the two ends, and do more epochs replace a larger learning rate?

# %% [markdown]
# #### Solution 5.2-4

# %% [markdown]
# One run of eight epochs for each rate covers every smaller number of epochs too, since the recipe has no schedule that depends on the total.
# At 0.0001 training is calm and not finished after eight epochs; more epochs do help.
# At 0.001 and 0.01 the result is good after two epochs and gains a few points more by the eighth.
# At 0.0001 eight epochs do not yet reach what two epochs reach at 0.01, so here they do not replace the larger rate.
# At 0.1 the accuracy stays below 0.7 in all eight epochs.

# %% tags=["rtol=0.2"]
rates, curves = (1e-4, 1e-3, 1e-2, 1e-1), {}
for rate in rates:
    torch.manual_seed(0)
    model = make_mlp(64)
    model(small.X_val[:1])
    curves[rate] = fit(model, 0, lr=rate, epochs=stable_epochs + 3)
print("epochs      2     5     8")
for rate, curve in curves.items():
    shown = [curve[min(e, len(curve)) - 1] for e in (2, 5, 8)]
    print(f"lr {rate:6}", "  ".join(
        f"{a:.2f}" if a > 0.6 else "<0.6" for a in shown))
if stable_run:
    assert curves[1e-4][7] > curves[1e-4][1] + 0.05  # slow, still rising
    assert curves[1e-3][4] > curves[1e-4][4] + 0.02
    assert max(curves[1e-1]) < 0.7 < min(curves[1e-3])
    assert max(curves[1e-4]) < curves[1e-2][1]
    for rate in (1e-3, 1e-2):
        assert 0.015 < max(curves[rate][5:]) - curves[rate][1] < 0.07

# %% [markdown]
# ### Exercise 5.2-5
#
# Search learning rate and width together with 12 trials of two epochs: once on a grid of $4\times3$ values, once with 12 random pairs, drawn uniformly on a logarithmic scale.
# How many different values of each hyperparameter does each search try, and which finds the better model?

# %% [markdown]
# #### Solution 5.2-5

# %% [markdown]
# The grid tries four learning rates and three widths, the random search about twelve of each.
# If one hyperparameter matters much more than the other, random search therefore samples it three times as densely; this is the argument of Bergstra and Bengio.
# Here both matter, both searches find pairs of similar quality, and the difference is below what 2000 images resolve.
# Keep in mind that the best of twelve validation accuracies is optimistic ([Section 4.6](../04-linear-classification/06-generalization-classification.ipynb)).

# %% tags=["rtol=0.1"]
def trial(lr, width):
    torch.manual_seed(0)
    model = make_mlp(width)
    model(small.X_val[:1])
    return fit(model, 0, lr=lr, epochs=2)[-1]


def scale(low, high, u):  # u in [0, 1], equal steps = equal factors
    return low * (high / low) ** u


assert abs(scale(1, 100, 0.5) - 10) < 1e-9 and scale(2, 8, 1) == 8
grid = [(scale(3e-4, 3e-2, i / 3), round(scale(8, 64, j / 2)))
        for i in range(4) for j in range(3)]
g = torch.Generator().manual_seed(2)
drawn = [(scale(3e-4, 3e-2, u), round(scale(8, 64, v)))
         for u, v in torch.rand(12, 2, generator=g).tolist()]
best = {}
for name, pairs in (("grid", grid), ("random", drawn)):
    rates, sizes = (set(column) for column in zip(*pairs))
    best[name] = max(trial(lr, width) for lr, width in pairs)
    print(f"{name:6} {len(rates):3} learning rates {len(sizes):3} widths"
          f"  best accuracy {best[name]:.3f}")
if stable_run:
    assert abs(best["grid"] - best["random"]) < 0.02

# %% [markdown]
# Random widths are rounded to integers, so a few of the twelve coincide.

# %% [markdown]
# ### Exercise 5.2-6
#
# Measure the time of a product of $(1024,k)$ and $(k,1024)$ for $k=1024$, 1025 and 1032, and the time of a training step from scratch and concise.
# Are powers of 2 faster?

# %% [markdown]
# #### Solution 5.2-6

# %% [markdown]
# We take the fastest of several repetitions, which is least disturbed by other programs.
# On the CPUs on which we ran this, the three sizes take about the same time per multiplication.
# For GPUs with matrix units, NVIDIA's guide recommends dimensions that are multiples of 8 or more, depending on the number format, which 1032 is and 1025 is not; run the cell on yours.
# The two models do the same arithmetic, and the matrix products and their gradients take most of the time, so neither implementation is much faster.

# %% tags=["timing"]
def fastest(function, repeats=7):
    """Smallest wall-clock time of a call, in milliseconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        if device.type != "cpu":
            torch.accelerator.synchronize()  # wait for the device
        times.append(time.perf_counter() - begin)
    return 1000 * min(times)


for k in (1024, 1025, 1032):
    A, B = torch.rand(1024, k, device=device), torch.rand(k, 1024,
                                                          device=device)
    print(f"k = {k}: {fastest(lambda: A @ B):.2f} ms")
for m in (scratch, MLP(10, 256, lr=0.1)):
    m(X)
    ms = fastest(lambda: m.loss(m(X), y).backward())
    print(f"{type(m).__name__:10} step: {ms:.2f} ms")

# %% [markdown]
# ## Sources
#
# - D. E. Rumelhart, G. E. Hinton and R. J. Williams, Learning representations by back-propagating errors, 1986, [doi:10.1038/323533a0](https://doi.org/10.1038/323533a0): MLPs trained with gradients.
# - NVIDIA, [Matrix multiplication background](https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication/index.html): sizes for matrix units.
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, 2015, [arXiv:1412.6980](https://arxiv.org/abs/1412.6980).
# - J. Bergstra and Y. Bengio, Random search for hyper-parameter optimization, 2012, [jmlr.org/papers/v13/bergstra12a](https://www.jmlr.org/papers/v13/bergstra12a.html).
# - D. Bertoin, J. Bolte, S. Gerchinovitz and E. Pauwels, Numerical influence of ReLU'(0) on backpropagation, 2021, [arXiv:2106.12915](https://arxiv.org/abs/2106.12915): the derivative at 0.
# - T. G. Dietterich, Approximate statistical tests for comparing supervised classification learning algorithms, 1998, [doi:10.1162/089976698300017197](https://doi.org/10.1162/089976698300017197).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics and the source recipe.
