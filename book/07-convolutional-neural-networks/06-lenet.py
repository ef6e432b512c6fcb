# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#         batch_size: 128
#         max_epochs: 10
#         relu_epochs: 10
#         compare_size: 60000
#         compare_epochs: 10
#         num_seeds: 5
#         long_seeds: 3
#         num_gpus: 1
#       smoke:
#         train_size: 1000
#         max_epochs: 1
#         compare_size: 500
#         compare_epochs: 1
#         num_seeds: 2
#         long_seeds: 1
#     rehearsal:
#       train_size: 0.25
#       val_size: 0.1
#       batch_size: 0.125
#       max_epochs: 0.3
#       relu_epochs: 0.1
#       compare_size: 0.15
#       compare_epochs: 0.3
#       num_seeds: 0.6
#       long_seeds: 0.34
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
# # 7.6 LeNet
#
# All pieces of a convolutional network are on the table.
# Do they make a network that is better than the multilayer perceptron, and better at what price?
# We build the network with which it began, account for each of its numbers, find out why it hesitates to learn, and let it compete.

# %% [markdown]
# **You will**
#
# - build LeNet-5 and derive every shape, every parameter count and every cost in it;
# - explain why the original waits on a plateau before it learns, and remove the wait;
# - compare it with the perceptron at equal parameters and at equal compute, over several seeds;
# - find out by experiments with permuted and with shifted images what convolution gives and what it does not.
#
# **Cost**: about a minute on a CPU; several minutes in the profile `gpu`, which trains on all images; a download of 31 MB, once.

# %%
import math
from unittest import mock

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, receptive_field)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST)
from d2l_helpers.chapters.linear_regression import Trainer
from d2l_helpers.chapters.multilayer_perceptrons import MLP

d2l.use_style()

# %% tags=["parameters"]
train_size = 15_000  # images for the original LeNet
batch_size = 16
val_size = 1000  # of the validation images, while training
max_epochs = 3  # with sigmoids
relu_epochs = 1  # with ReLU and maximum pooling
compare_size = 9000  # images of each network in the comparisons
compare_epochs = 3
num_seeds = 3
long_seeds = 2  # of the perceptron that trains longer
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## The network that read cheques
#
# In 1989 Yann LeCun and his colleagues at Bell Labs trained a convolutional network by backpropagation to read handwritten zip codes.
# It was among the first of its kind on real images; time-delay networks had done the same with recorded speech since 1987 ([Section 7.1](01-from-dense-to-convolution.ipynb)).
# Nine years of improvements later, *LeNet-5* misread less than one digit in a hundred.
# That was on a par with the best support vector machines, the leading method of the time, and good enough for banks: networks of this family read the amounts on cheques in cash machines for many years.
#
# The network has two parts.
# A convolutional *encoder* turns the image into a small stack of feature maps, and a *head* of dense layers turns the maps into scores for ten classes.
#
# ![Data flow from left to right. An image of 28 by 28 becomes 6 maps of 28 by 28 by a 5 by 5 convolution with padding 2, 6 maps of 14 by 14 by average pooling, 16 maps of 10 by 10 by a second convolution, 16 maps of 5 by 5 by pooling; these are flattened into dense layers of 120, 84 and 10 units.](img/lenet-flow.svg)
#
# **Figure 7.6.1.** LeNet: maps become smaller and more numerous, then the grid is given up.
#
# Each of the two blocks of the encoder is a $5\times5$ convolution, a sigmoid, and $2\times2$ average pooling with stride 2.
# Each pooling leaves a quarter of the positions, while the number of channels grows from 1 to 6 to 16.
# The digits of MNIST are $28\times28$ images with a narrow margin; the network was designed for $32\times32$, where the strokes lie well inside, and padding 2 in the first layer gives the margin back.
#
# Ninety per cent of the drawing is known by now, so we compress it: one box for each layer, from bottom to top, and beside it what follows from the rules of this chapter.
#
# ![Nine boxes from bottom to top: image 1 by 28 by 28; 5 by 5 convolution with 6 channels, padding 2 and sigmoid, 6 by 28 by 28, 156 parameters; average pooling, 6 by 14 by 14; 5 by 5 convolution with 16 channels and sigmoid, 16 by 10 by 10, 2416 parameters; average pooling, 16 by 5 by 5; flatten, 400; dense 120 with sigmoid, 48120 parameters; dense 84 with sigmoid, 10164; dense 10, 850.](img/lenet-vertical.svg)
#
# **Figure 7.6.2.** The same network in compressed notation, with output shapes (channels, height, width) and parameters.

# %% [markdown]
# ## The program
#
# The weights start from Xavier's distribution ([Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb)), drawn by an initializer that [`apply_init`](../06-builders-guide/04-lazy-initialization.ipynb) calls for every layer.
# We export a second one of He's kind, for networks with ReLU: those of the comparison below and of Chapter 8.

# %% tags=["export"]
def init_cnn(module):
    """Xavier's uniform weights for dense and convolutional layers.

    Biases keep their default; other modules stay as they are. Pass it to
    `apply_init` or `nn.Module.apply`.
    """
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_uniform_(module.weight)


def init_he(module):
    """He's normal weights and zero biases, for layers before a ReLU."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

# %% [markdown]
# Activation and pooling are arguments, because we are going to exchange both.

# %% tags=["export"]
class LeNet(Classifier):
    """LeNet-5 in its usual form; returns scores (n, num_classes).

    The input is (n, channels, h, w) with h and w of at least 12;
    `activation` is called without arguments, `pool` as `pool(2)`, a
    window of 2 with stride 2.
    """

    def __init__(self, lr=0.1, num_classes=10, activation=nn.Sigmoid,
                 pool=nn.AvgPool2d):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.LazyConv2d(6, kernel_size=5, padding=2), activation(),
            pool(2),
            nn.LazyConv2d(16, kernel_size=5), activation(),
            pool(2),
            nn.Flatten(),
            nn.LazyLinear(120), activation(),
            nn.LazyLinear(84), activation(),
            nn.LazyLinear(num_classes))

# %% [markdown]
# To see the shapes we send zeros through the layers of `net` one after the other.
# Chapter 8 will do so with larger networks, so this becomes a function.

# %% tags=["export"]
def layer_summary(net, X_shape):
    """Name and output shape of each layer of an nn.Sequential, in order.

    `X_shape` is the shape of a batch, such as (1, 1, 28, 28). Returns
    [(class name, shape), ...] and leaves `net` as it found it, except
    that lazy layers get their shapes.
    """
    parameter = next(net.parameters(), torch.empty(0))
    X = torch.zeros(X_shape, dtype=parameter.dtype, device=parameter.device)
    modes = {module: module.training for module in net.modules()}
    rows = []
    with torch.no_grad():
        for layer in net.eval():
            X = layer(X)
            rows.append((type(layer).__name__, tuple(X.shape)))
    for module, training in modes.items():
        module.training = training
    return rows

# %%
torch.manual_seed(0)
model = LeNet()
summary = layer_summary(model.net, (1, 1, 28, 28))
for name, shape in summary:
    print(f"{name:10s} {shape}")

# %%
# check 7.6-C1: the shapes of Figure 7.6.2
shapes = [shape[1:] for name, shape in summary if name != "Sigmoid"]
assert shapes == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5),
                  (400,), (120,), (84,), (10,)]
assert [name for name, _ in summary].count("Sigmoid") == 4
assert model.net.training  # as it was before

# %% tags=["hide-input"]
# check: no gradient is recorded, every part keeps its mode, type and device
parts = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4),
                      nn.Dropout(0.9).eval(), nn.Flatten())
recorded = []  # does the pass record the way to a gradient?
parts[0].register_forward_hook(
    lambda layer, inputs, output: recorded.append(output.requires_grad))
rows = layer_summary(parts.double(), (2, 1, 8, 8))
assert rows[0] == ("Conv2d", (2, 4, 6, 6)) and rows[3][1] == (2, 144)
assert recorded == [False]
assert [part.training for part in parts] == [True, True, False, True]
assert parts[1].num_batches_tracked == 0  # it ran in evaluation mode
meta = nn.Sequential(nn.Linear(3, 2, device="meta"))
assert layer_summary(meta, (5, 3)) == [("Linear", (5, 2))]
assert layer_summary(nn.Sequential(nn.Flatten()), (2, 3, 4)) == [
    ("Flatten", (2, 12))]  # a net without parameters
few = LeNet(num_classes=3, activation=nn.Tanh, pool=nn.MaxPool2d).net
rows = layer_summary(few, (1, 2, 12, 13))  # the smallest height
assert rows[-1] == ("Linear", (1, 3))
names = [name for name, _ in rows]
assert names.count("Tanh") == 4 and names.count("MaxPool2d") == 2
try:
    layer_summary(LeNet().net, (1, 1, 11, 12))
    raise AssertionError("an image of 11 rows was accepted")
except RuntimeError:
    pass

# %% [markdown]
# Parameters: a convolution from $c_{\mathrm{i}}$ to $c_{\mathrm{o}}$ channels has $c_{\mathrm{o}}(c_{\mathrm{i}}k^2+1)$ of them, a dense layer $n_{\mathrm{o}}(n_{\mathrm{i}}+1)$.
# The first dense layer alone, which gives every position of every map a weight of its own, holds more than three quarters of all.

# %%
by_layer = {name: count_params(layer)
            for name, layer in model.net.named_children()
            if count_params(layer)}
print(by_layer, "in all", count_params(model))

# %% [markdown]
# What is called LeNet today is not quite the network of 1998.
# That one used a scaled tanh.
# Its pooling multiplied each average by a trained weight and added a trained bias.
# Each of the 16 second maps saw only some of the six first ones, according to a table, which saved computation and broke the symmetry.
# And the last layer compared its 84 inputs with ten fixed codes, small bitmaps of the digits, by squared distances.
# With all that it had exactly 60 000 trainable parameters; Exercise 3 rebuilds it.

# %%
# check 7.6-C2: parameters of today's LeNet; Exercise 3 counts the old one
assert list(by_layer.values()) == [156, 2416, 48_120, 10_164, 850]
assert count_params(model) == 61_706
assert sum(by_layer.values()) == count_params(model)

# %% [markdown]
# Cost: [Section 7.4](04-channels.ipynb) counted multiply-accumulates, one for each weight and each position at which it is used.
# That is where the two kinds of layers differ.
# A weight of a dense layer is used once for an image; a weight of the first convolution is used at all $28^2$ positions.

# %%
macs = count_macs(model, (1, 1, 28, 28))
for name, layer in model.net.named_children():
    key = next((k for k in macs if k.endswith(f".{name}")), None)
    if key:
        print(f"{type(layer).__name__:7s} {layer.weight.numel():6,d} weights,"
              f" {macs[key]:8,d} multiply-accumulates")

# %%
# check 7.6-C3: operations of LeNet and of a perceptron, 784-256-10
values = list(macs.values())
assert values[:2] == [117_600, 240_000] and sum(values[2:]) == 58_920
assert sum(values) == 416_520
torch.manual_seed(0)
mlp = MLP(num_outputs=10, num_hiddens=256, lr=0.1)
mlp_macs = sum(count_macs(mlp, (1, 1, 28, 28)).values())
assert mlp_macs == 203_264 and count_params(mlp) == 203_530

# %% [markdown]
# The perceptron of [Section 5.2](../05-multilayer-perceptrons/02-mlp-implementation.ipynb) has more than three times the parameters of LeNet and needs half of the operations.
# Neither number is *the* size of a network, and a comparison has to say which one it holds fixed.
#
# How much of the image does one entry of the last maps see?

# %%
# check 7.6-C4: an entry behind the second pooling sees 16 x 16 pixels
layers = [(5, 1, 2), (2, 2, 0), (5, 1, 0), (2, 2, 0)]  # (k, s, padding)
size, jump, start = receptive_field(layers)
assert (size, jump) == (16, 4)
assert start == -2  # the first window begins in the padding
print(f"{size} x {size} pixels; neighbours are {jump} pixels apart")

# %% [markdown]
# Each of the $5\times5$ positions sees about a third of the area, the neighbouring one nearly the same third, and only the dense layers join the views.

# %% [markdown]
# ## Why it waits
#
# We train as in 1998, with sigmoids and average pooling, by minibatch SGD with learning rate 0.1.
# What counts for this story is the number of *steps*: three epochs over 15 000 images in batches of 16 make 2814 steps, as many as six epochs over all 60 000 in batches of 128, and cost an eighth.
# The profile `gpu` takes the large batches.

# %%
data = FashionMNIST(batch_size=batch_size, train_size=train_size,
                    val_size=val_size)
full_run = train_size >= 15_000 and compare_size >= 9000  # not smoke
real = data.source == "real"
device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")
inputs = data.X_train[:1]  # an example for the lazy layers


def make_lenet(seed, **options):
    """LeNet with Xavier's weights, drawn after `seed`."""
    torch.manual_seed(seed)
    return apply_init(LeNet(**options), inputs, init_cnn)

# %%
# check 7.6-C5: the initializer has reached the first kernel
bound = math.sqrt(6 / (25 * 1 + 25 * 6))  # fan in 25, fan out 150
kernel = make_lenet(0).net[0].weight
assert math.isclose(bound, 0.1852, abs_tol=1e-4)
assert 0.9 * bound < kernel.abs().max() <= bound
assert make_lenet(0).net[7].weight.abs().max() <= math.sqrt(6 / 520)
assert all(layer.bias.abs().max() > 0 for layer in make_lenet(0).net
           if hasattr(layer, "bias"))  # biases keep their default
he = nn.Sequential(nn.Conv2d(16, 64, 5), nn.ReLU(), nn.Linear(500, 99))
he.apply(init_he)  # variance 2 / fan in, and no bias
assert abs(he[0].weight.std() / math.sqrt(2 / (16 * 25)) - 1) < 0.05
assert abs(he[2].weight.std() / math.sqrt(2 / 500) - 1) < 0.05
assert he[0].bias.abs().max() == he[2].bias.abs().max() == 0

# %%
def train_and_report(model, data, epochs):
    """Train, print the accuracy after each epoch, return the history."""
    model.board.display = False
    model.plot_train_per_epoch = 20  # points of the loss curve
    data.generator = torch.Generator().manual_seed(0)
    trainer = Trainer(max_epochs=epochs, num_gpus=num_gpus)
    trainer.fit(model, data)
    accuracy = trainer.history["val_acc"]
    print("validation accuracy after each epoch:",
          " ".join(f"{a:.2f}" for a in accuracy))
    return trainer.history

# %% tags=["rtol=0.6"]
sigmoid_net = make_lenet(0)  # when it wakes up differs a little
sigmoid_history = train_and_report(sigmoid_net, data, max_epochs)

# %% [markdown]
# For a long time nothing happens: the accuracy stays at that of guessing.
# Then, within a few hundred steps, the network starts to learn.
# A program that gave up after the first epoch would have called the model broken.
#
# The reason was the subject of [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb).
# On its way to the first kernel the gradient passes four sigmoids, and each multiplies it by a slope of at most $\frac14$: a factor of $4^{-4}\approx0.004$ before the weights have their say.
# At the beginning little but the last layer learns, and what it learns is to ignore its inputs, which hardly differ from image to image.
# Its best answer without them is the same probability for every class, with the loss $\log10\approx2.303$: the *plateau*.
#
# We compare the gradient of the first kernel with that of the last weight matrix before any training.
# Two other networks serve as controls.
# One has ReLU in place of the sigmoid and maximum in place of average pooling.
# The other has $\sigma(z)-\frac12$ in place of $\sigma(z)$: the same slopes everywhere, but outputs around 0.

# %%
modern = {"activation": nn.ReLU, "pool": nn.MaxPool2d}
X, y = data.X_train[:128], data.y_train[:128]


class Centred(nn.Module):
    """scale * (sigmoid(z) - 1/2), with mean 0 for symmetric inputs."""

    def __init__(self, scale=1):
        super().__init__()
        self.scale = scale

    def forward(self, Z):
        return self.scale * (torch.sigmoid(Z) - 0.5)


def gradient_norms(model):
    """Norms of the first and the last weights' gradients, and loss."""
    loss = model.loss(model(X), y)
    loss.backward()
    first, last = (torch.linalg.vector_norm(model.net[i].weight.grad).item()
                   for i in (0, -1))
    return first, last, loss.item()


starts = {name: [gradient_norms(make_lenet(seed, **options))
                 for seed in range(10)]
          for name, options in (("sigmoid", {}), ("modern", modern),
                                ("centred", {"activation": Centred}))}
for name, rows in starts.items():
    first, last, _ = torch.tensor(rows).T  # (10,) each
    print(f"{name}: first gradient {first.median():.4f}, last "
          f"{last.median():.4f}, ratio {(first / last).median():.4f}")

# %%
# check 7.6-C6: the gradient that reaches the first kernel, ten seeds
if real:
    assert all(a < 0.005 * b for a, b, _ in starts["sigmoid"])
    assert all(a > 0.5 * b and a > 0.03 for a, b, _ in starts["modern"])
    assert all(a > 0.1 * b and a < 0.005 for a, b, _ in starts["centred"])
    assert all(a < 0.005 for a, _, _ in starts["sigmoid"])
assert all(2.3 < loss < 3.0 for *_, loss in starts["sigmoid"])
with torch.no_grad():  # the inputs of the last layer: near 1/2, all alike
    H = make_lenet(0).net[:-1](X)  # (128, 84)
assert H.std(dim=0).max() < 0.01 < 0.3 < H.mean() < 0.7
curve = sigmoid_net.board.data["train_loss"]  # [(epoch, loss), ...]
steps_per_epoch = math.ceil(train_size / batch_size)
if full_run:  # the plateau: from step 300 to 900 the loss of guessing
    flat = [loss for t, loss in curve if 300 < t * steps_per_epoch < 900]
    assert len(flat) > 5
    assert abs(sum(flat) / len(flat) - math.log(10)) < 0.03
    assert all(abs(loss - math.log(10)) < 0.1 for loss in flat)

# %% [markdown]
# With sigmoids the first kernel gets a few thousandths of the gradient of the last layer; with ReLU and maximum pooling it gets a full share.
# Is it the share that makes the network wait, or the size?
# The centred sigmoid answers this: its first kernel has a large share, but of a gradient that is tiny in *all* layers, and in absolute numbers it gets as little as before.
# (The last layer of the original has its large gradient from the constant $\frac12$ in its inputs, which the centred version lacks.)
# We count the steps until the loss is clearly below the plateau, also for $2\sigma(z)-1$, whose slopes are twice as large, which makes $2^4$ in four layers.
# And we enlarge the steps themselves: four times the learning rate for the centred network, and for the original in all layers but the last.

# %% tags=["rtol=0.6"]
def steps_to_leave(model, limit, lr=0.1, last_lr=0.1, seed=0):
    """Steps of SGD until the mean loss of 40 minibatches is below 2."""
    net, step, recent = model.net.to(device), 0, []
    images, labels = data.X_train.to(device), data.y_train.to(device)
    *early, weight, bias = net.parameters()
    optimizer = torch.optim.SGD([
        {"params": early, "lr": lr},
        {"params": [weight, bias], "lr": last_lr}])
    generator = torch.Generator().manual_seed(seed)
    while step < limit:
        order = torch.randperm(len(images), generator=generator)
        for index in order.to(device).split(batch_size):
            loss = F.cross_entropy(net(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, recent = step + 1, recent[-39:] + [loss.detach()]
            if step % 20 == 0 and torch.stack(recent).mean() < 2:
                return step
    return step


limit = max_epochs * steps_per_epoch
waits = {"sigmoid": next((round(t * steps_per_epoch) for t, loss in curve
                          if loss < 2), limit)}
for scale in (1, 2):
    centred = make_lenet(0, activation=lambda: Centred(scale))
    waits[f"{scale} * (sigmoid - 1/2)"] = steps_to_leave(centred, limit)
centred = make_lenet(0, activation=Centred)
waits["1 * (sigmoid - 1/2), rate 0.4"] = steps_to_leave(
    centred, limit, lr=0.4, last_lr=0.4)
waits["sigmoid, rate 0.4 but for the last layer"] = steps_to_leave(
    make_lenet(0), limit, lr=0.4)
for name, steps in waits.items():
    print(f"{name}: {steps}")
if full_run and real:
    original, same_slopes, double, faster, early = waits.values()
    assert min(original, same_slopes) > 600 and double < 300
    assert faster < same_slopes / 2 and early < original / 2

# %% [markdown]
# With the same slopes the wait is of a similar length, whatever the share; with twice the slopes most of it is gone.
# And where the early layers take four times larger steps, it shrinks to less than half.
# These are single runs; in one further run of each, with another seed and not stored here, the five waits came in the same order, and the larger steps again cut the wait to less than half.
# So in these runs the length of the wait goes with how fast the early layers move, and we expect the network with ReLU not to wait.
# The share matters in another way: it decides whether a larger rate is a remedy.
# In two further runs at the rate 0.4 in *all* layers, the original was still on the plateau after three epochs: the last layer, which has the lion's share of the gradient, does not bear that rate.

# %% tags=["rtol=0.1"]
relu_net = make_lenet(0, **modern)
relu_history = train_and_report(relu_net, data, relu_epochs)

# %%
# check 7.6-C7: accuracy in the intervals of repeated runs
if full_run and real:
    low = 0.5 if max_epochs < 10 else 0.68  # measured 0.65, and 0.73
    assert sigmoid_history["val_acc"][-1] >= low
    assert relu_history["val_acc"][-1] >= (
        0.78 if relu_epochs < 10 else 0.86)
    first = relu_history["val_acc"][0]
    assert first > max(sigmoid_history["val_acc"][0] + 0.2, 0.7)

# %% tags=["rtol=0.2", "hide-input"]
_, ax = plt.subplots()
for net, label, style in ((sigmoid_net, "sigmoid, average pooling", "-"),
                          (relu_net, "ReLU, maximum pooling", "--")):
    epochs, losses = zip(*net.board.data["train_loss"])
    ax.plot([t * steps_per_epoch for t in epochs], losses, style,
            label=label)
ax.axhline(math.log(10), color="#888888", lw=0.8)
ax.text(0.99 * max_epochs * steps_per_epoch, 2.36, "log 10",
        color="#555555", ha="right")
ax.set(xlabel="step", ylabel="training loss", ylim=(0, 2.7))
ax.legend(loc="lower left")
d2l.describe(ax, """Training loss against the step. With sigmoids it stays
    at log 10 for more than a thousand steps, then falls to about 0.9 at
    the end. With ReLU and maximum pooling it falls at once, and
    is near 0.5 within a few hundred steps.""")

# %% [markdown]
# **Figure 7.6.3.** On the plateau at $\log10$ small gradients move the early layers.
# Without the small slopes of the sigmoids there is no wait.
#
# Exercise 7.6-1 asks which of the two exchanges was the remedy.
# Another one comes in Section 8.5: normalization keeps the inputs of every layer varying from image to image.

# %% [markdown]
# ## What it sees
#
# What have the six kernels of the first layer become?
# Some have grown well beyond their random start, and neighbouring weights in them are alike: they have a positive and a negative side, like detectors of edges.
# Others have hardly moved from the start and look as random as before.
# One epoch has not moved all six.

# %% tags=["chaotic", "hide-input"]
kernels = relu_net.net[0].weight.detach().cpu()[:, 0]  # (6, 5, 5)
at_start = make_lenet(0, **modern).net[0].weight.detach()[:, 0]


def smoothness(kernels):
    """Correlation of adjacent weights in each kernel of (6, 5, 5)."""
    k = kernels - kernels.mean(dim=(1, 2), keepdim=True)
    pairs = ((k[:, 1:] * k[:, :-1]).mean(dim=(1, 2))
             + (k[:, :, 1:] * k[:, :, :-1]).mean(dim=(1, 2))) / 2
    return pairs / k.square().mean(dim=(1, 2))  # (6,)


top = kernels.abs().max().item()
fig, axes = plt.subplots(1, 6, figsize=(6.4, 1.3))
for ax, kernel in zip(axes, kernels):
    image = ax.imshow(kernel, cmap="RdBu_r", vmin=-top, vmax=top)
    ax.axis("off")
fig.colorbar(image, ax=axes, shrink=0.9, label="weight")
if full_run and real:  # some have grown, and those have become smooth
    size = torch.linalg.vector_norm(kernels, dim=(1, 2))
    grown = size > 1.7 * torch.linalg.vector_norm(at_start, dim=(1, 2))
    assert 2 <= grown.sum()
    assert smoothness(kernels)[grown].mean() > 0.25
    assert smoothness(at_start).mean() < 0.1
d2l.describe(fig, """Six kernels of 5 by 5 weights, red for positive and
    blue for negative. Several have a red and a blue side, like detectors
    of edges in different directions; others are pale and irregular.""")

# %% [markdown]
# **Figure 7.6.4.** First kernels of the ReLU network, red for positive weights, blue for negative ones.
#
# Next we look at the maps that they produce, for a shirt, a shoe, and an image of noise.

# %% tags=["chaotic"]
def shrink(maps):
    """Maps (n, h, w), each divided by its own maximum."""
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)


def activations(net, X):
    """Outputs of both convolutional blocks for images X, (n, c, h, w)."""
    with torch.no_grad():
        first = net[:3](X)  # (n, 6, 14, 14)
        return first, net[3:6](first)  # and (n, 16, 5, 5)


noise = torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(1))
shirt, sneaker = (data.X_val[data.y_val == k][0] for k in (6, 7))
shown = torch.stack((shirt, sneaker, noise))  # (3, 1, 28, 28)
tiles = [shown[:, 0]]
for maps in activations(relu_net.net.cpu(), shown):
    busiest = maps.mean(dim=(0, 2, 3)).argsort(descending=True)[:5]
    tiles += [shrink(maps[:, j]) for j in busiest]  # 5 of (3, h, w)
tiles = [tile[i] for i in range(3) for tile in tiles]
names = ["input"] + ["block 1"] * 5 + ["block 2"] * 5
axes = d2l.show_images(tiles, 3, 11, titles=names, scale=0.75)
for ax in axes:
    ax.title.set_fontsize(7)
d2l.describe(axes[0].figure, """Three rows: a shirt, a sneaker and noise,
    each followed by five maps of the first and five of the second block.
    The first maps show outlines and bright areas of the object; the second
    are coarse patches that differ between shirt and sneaker. Noise gives
    noise in the first and uneven patches in the second.""")

# %% [markdown]
# **Figure 7.6.5.** The five busiest of the 6 maps of block 1, $14\times14$, and of the 16 maps of block 2, $5\times5$, each scaled to its own maximum.
# The first block keeps the drawing; the second keeps where which kind of feature was.
#
# The noise is worth a second look.
# The network has never seen such an image and has no class for it, and yet one of the classes comes out ahead, if with less certainty than for the sneaker: the softmax shares out the whole probability, and there is no answer "none of them".

# %% tags=["rtol=0.5"]
with torch.no_grad():
    p = relu_net.cpu()(shown).softmax(dim=1)  # (3, 10)
for name, row in zip(("shirt", "sneaker", "noise"), p):
    print(f"{name:8s} largest probability {row.max():.2f}")
if full_run and real:
    assert p[2].max() < p[1].max()

# %% [markdown]
# ## A fair comparison
#
# Is the convolutional network better than a perceptron?
# *Better* needs a budget that is the same for both, and there are several:
#
# - *equal parameters*, and equally many epochs;
# - *equal compute for each image*, that is equally many multiply-accumulates, and equally many epochs;
# - *equal compute in all*: the perceptron of equal parameters, which is cheaper by a factor, may train longer by this factor.
#
# A perceptron $784$-$h$-$10$ has $795h+10$ parameters and needs $794h$ multiply-accumulates, so the budgets fix its width $h$.

# %%
lenet_params, lenet_macs = count_params(model), sum(macs.values())
h_params = round((lenet_params - 10) / 795)
h_macs = round(lenet_macs / 794)
longer = round(compare_epochs * lenet_macs / (794 * h_params))
print(f"equal parameters: h = {h_params}; equal compute: h = {h_macs}, "
      f"or h = {h_params} for {longer} instead of {compare_epochs} epochs")
assert abs(795 * h_params + 10 - lenet_params) < 0.01 * lenet_params
assert abs(794 * h_macs - lenet_macs) < 0.01 * lenet_macs

# %% [markdown]
# All networks get the same recipe: ReLU, He's weights, batches of 32, and a learning rate that falls linearly from 0.15 to 0.
# The falling rate reduces the noise that large steps leave in the final weights and that could hide the differences.
# A short loop over tensors in memory is all that is needed, and it has seeds for weights and order.

# %%
n = compare_size
whole = FashionMNIST(train_size=n)
X, y = whole.X_train.to(device), whole.y_train.to(device)
X_val, y_val = whole.X_val.to(device), whole.y_val.to(device)


def accuracy(net, X, y):
    """Share of images X that `net` assigns to their class y."""
    net.eval()
    with torch.no_grad():
        scores = torch.cat([net(part) for part in X.split(100)])
    return (scores.argmax(dim=1) == y).float().mean().item()


def train(net, X, y, epochs, seed, lr=0.15, size=32, momentum=0.0):
    """SGD with a rate that falls to 0; the mean loss of each epoch."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr, momentum=momentum)
    num_steps, step, losses = epochs * math.ceil(len(X) / size), 0, []
    for _ in range(epochs):
        net.train()
        order, total = torch.randperm(len(X), generator=generator), 0.0
        for index in order.to(X.device).split(size):
            optimizer.param_groups[0]["lr"] = lr * (1 - step / num_steps)
            loss = F.cross_entropy(net(X[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, total = step + 1, total + loss.detach() * len(index)
        losses.append(total.item() / len(X))
    return losses

# %%
def make_net(kind, seed):
    """A ReLU LeNet ("lenet"), or a perceptron with `kind` units."""
    torch.manual_seed(seed)
    model = LeNet(**modern) if kind == "lenet" else MLP(10, kind, lr=0.1)
    net = apply_init(model, inputs, init_he).net
    # kernels with their channels last in memory are a bit faster
    return net.to(device, memory_format=torch.channels_last)


def trained(kind, epochs, seed, X, y):
    """A trained network and its losses; `seed` sets weights and order."""
    net = make_net(kind, seed)
    return net, train(net, X, y, epochs, seed)

# %% tags=["hide-input"]
# check: the seed sets the weights, and it sets the order of the images
few = X[:100], y[:100]
weights = [trained(8, 0, seed, *few)[0][1].weight for seed in (0, 0, 1)]
assert torch.equal(weights[0], weights[1])
assert not torch.equal(weights[0], weights[2])
loss = trained(8, 1, 1, *few)[1]
nets = [make_net(8, 1) for _ in range(2)]  # the same weights
with mock.patch.object(torch.Tensor, "item", lambda t: t.requires_grad):
    assert train(make_net(8, 1), *few, 1, seed=1) == [0]  # no graph kept
torch.rand(1)  # a step of the common generator changes nothing
assert train(nets[0], *few, 1, seed=1) == loss
assert train(nets[1], *few, 1, seed=0) != loss
twins = [make_net(8, 1) for _ in range(2)]  # the rate falls, by hand:
train(twins[0], X[:32], y[:32], 2, seed=0, lr=0.2)  # one step an epoch
for lr in (0.2, 0.1):
    loss = F.cross_entropy(twins[1](X[:32]), y[:32])
    weights = list(twins[1].parameters())
    with torch.no_grad():
        for w, grad in zip(weights, torch.autograd.grad(loss, weights)):
            w -= lr * grad
torch.testing.assert_close(twins[0].state_dict(), twins[1].state_dict())
mute = nn.Sequential(nn.Flatten(), nn.Dropout(1.0))  # 0 unless in eval
brightest = X[:150].flatten(1).argmax(dim=1)
assert accuracy(mute, X[:150], brightest) == 1
brightest[100:] += 1  # a third of the answers wrong, in the last part
assert abs(accuracy(mute, X[:150], brightest) - 2 / 3) < 1e-6

# %%
budgets = {"LeNet": ("lenet", compare_epochs),
           "MLP, equal parameters": (h_params, compare_epochs),
           "MLP, equal compute per image": (h_macs, compare_epochs),
           "MLP, equal compute in all": (h_params, longer)}
nets, scores, losses = {}, {}, {}
for name, (kind, epochs) in budgets.items():
    for seed in range(num_seeds if epochs < longer else long_seeds):
        net, loss = trained(kind, epochs, seed, X, y)
        if seed == 0:
            nets[name], losses[name] = net, loss
        scores.setdefault(name, []).append(accuracy(net, X_val, y_val))

# %% tags=["rtol=0.03", "hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.3))
for i, (name, values) in enumerate(scores.items()):
    mean = sum(values) / len(values)
    ax.plot(values, [-i] * len(values), "o", color=f"C{i}", alpha=0.6)
    ax.plot(mean, -i, "|", ms=18, mew=2, color=f"C{i}")
ax.set_yticks([-i for i in range(4)], labels=list(scores))
ax.set(xlabel="validation accuracy", ylim=(-3.6, 0.6))
d2l.describe(ax, """Validation accuracy of four kinds of networks, a dot for
    each seed and a bar at the mean. The mean of LeNet is ahead of all
    seeds of the perceptron of equal parameters, and by less ahead of that
    of equal compute for each image. All seeds of the small perceptron that
    trains longer are ahead of LeNet.""")

# %% [markdown]
# **Figure 7.6.6.** Dots are seeds, bars their means.
# At equal length of training the convolutional network leads; a small perceptron that spends the same compute on longer training passes it.

# %%
for values in scores.values():  # each dot is a run of its own
    assert len(set(values)) > 1 or len(values) == 1
mean = {name: sum(values) / len(values) for name, values in scores.items()}
wide, small, late = list(mean)[2], list(mean)[1], list(mean)[3]
if full_run and real:
    assert mean["LeNet"] > mean[small] + 0.005
    assert max(scores[small]) < mean["LeNet"]
    assert mean["LeNet"] > mean[wide]
    if compare_size == 60_000 and compare_epochs >= 10:
        assert mean["LeNet"] > max(mean[small], mean[wide], mean[late])
    else:  # longer helps the small perceptron, and it passes LeNet
        assert mean[late] > mean[small] + 0.01
        assert mean[wide] > mean[small]
        assert min(scores[late]) > mean["LeNet"]

# %% [markdown]
# The result is less of a triumph than one may expect, and worth reading slowly.
#
# With as many parameters, LeNet is better: its mean lies above every seed of that perceptron.
# With as many operations for each image it leads by less, over a perceptron that has almost seven times as many parameters.
# But a small perceptron costs so little for each image that the same compute buys many more epochs, and with them each of its seeds passes LeNet's mean.
# These are the results of one learning rate.
# At rates up to twice as large the means kept their order in further runs, but single seeds of LeNet, which scatter most, came as high as the long runs of the perceptron.
# Compute is not time either: [Section 7.4](04-channels.ipynb) measured how far layers differ in operations per second.
#
# Will LeNet pull ahead again when both get more images and more epochs?
# That is another budget, and needs another run: the profile `gpu` takes all images and ten epochs.
# Its result is not stored in this edition.
#
# Garments that are centred, upright, small and grey are a kind world for perceptrons.
# The next two experiments take some of the kindness away.

# %% [markdown]
# ## Permuted pixels
#
# [Section 7.0](00-overview.md) claimed that a perceptron does not care about the order of the pixels.
# That is exact.
# If all images are permuted, then a perceptron whose first weights are permuted likewise computes the same.

# %%
order = torch.randperm(784, generator=torch.Generator().manual_seed(5))


def permute(X):
    """Images (n, 1, 28, 28) with their pixels in another fixed order."""
    return X.flatten(2)[..., order].reshape(X.shape)


plain = nets[small]  # Flatten, Linear, ReLU, Linear
twin = make_net(h_params, 0)
twin.load_state_dict(plain.state_dict())
with torch.no_grad():
    twin[1].weight.copy_(plain[1].weight[:, order])
    same = twin(permute(X_val[:500])), plain(X_val[:500])
torch.testing.assert_close(*same, rtol=1e-4, atol=1e-4)

# %% [markdown]
# For LeNet the neighbours of a pixel are now strangers.
# We train both on permuted images, with the seed, the recipe and the number of epochs of the runs before.

# %%
X_perm, X_val_perm = permute(X), permute(X_val)
perm_scores, perm_losses = {}, {}
for name, kind in (("LeNet", "lenet"), (small, h_params)):
    net, perm_losses[name] = trained(kind, compare_epochs, 0, X_perm, y)
    perm_scores[name] = accuracy(net, X_val_perm, y_val)

# %% tags=["rtol=0.15", "hide-input"]
_, ax = plt.subplots()
epochs = range(1, compare_epochs + 1)
for i, name in enumerate(("LeNet", small)):
    ax.plot(epochs, losses[name], f"C{i}-o", label=f"{name}, plain")
    ax.plot(epochs, perm_losses[name], f"C{i}--s", mfc="white",
            label=f"{name}, permuted")
ax.set(xlabel="epoch", ylabel="training loss", xticks=list(epochs))
ax.legend(fontsize=8)
d2l.describe(ax, """Training loss by epoch. The two curves of the perceptron,
    plain and permuted, lie on each other. Those of LeNet are apart: with
    permuted pixels its loss is higher in every epoch.""")

# %% [markdown]
# **Figure 7.6.7.** One fixed permutation of the pixels: nothing changes for the perceptron, while LeNet loses its advantage.

# %%
if full_run:
    gap = {name: [b - a for a, b in zip(losses[name], perm_losses[name])]
           for name in perm_losses}
    assert max(map(abs, gap[small])) < 0.03  # other random weights, no more
if full_run and real:
    assert min(gap["LeNet"]) > 3 * max(map(abs, gap[small]))
    drop = scores["LeNet"][0] - perm_scores["LeNet"]
    assert drop > 3 * abs(perm_scores[small] - scores[small][0])
    assert perm_scores["LeNet"] < scores[small][0]  # the advantage is gone

# %% [markdown]
# Note what LeNet did *not* lose: it still learns permuted images rather well.
# Its dense layers see everything, so it lost its advantage and not its capacity.
# The advantage was that neighbours belong together, and that is a property of images, not of the network.

# %% [markdown]
# ## Shifted images
#
# The other promise was that objects may move.
# All images in the data are centred.
# We now move the validation images to the right, with zeros coming in at the left, and let the trained networks answer.
#
# Two more networks take part, which differ only in their ends.
# Both have three $3\times3$ convolutions.
# In one of them each of the last maps is averaged over *all* its positions, and only the vector of channel means goes to the last layer.
# This is *global average pooling* ([Section 7.5](05-pooling.ipynb)).
# The other one flattens the maps, and its last layer has a weight for every position.
# Both get the same images, half of those of the comparison, and the same epochs, order and rate.
# Between convolution and ReLU both have batch normalization, a way to faster training that Section 8.5 explains; take it as given here.

# %%
def conv_block(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1),
                         nn.BatchNorm2d(c_out), nn.ReLU())


def make_mover(side):
    """Three blocks; their 64 maps are averaged down to side x side."""
    torch.manual_seed(0)
    net = nn.Sequential(
        conv_block(1, 8), nn.MaxPool2d(2), conv_block(8, 16),
        nn.MaxPool2d(2), conv_block(16, 64),  # (n, 64, 7, 7)
        nn.AdaptiveAvgPool2d(side), nn.Flatten(),
        nn.Linear(64 * side**2, 10))
    net = net.to(device, memory_format=torch.channels_last)
    train(net, X[:n // 2], y[:n // 2], compare_epochs, seed=0, lr=0.2)
    return net


pooled, flattened = make_mover(1), make_mover(7)  # 7: averages nothing
movers = {"MLP": nets[wide], "LeNet": nets["LeNet"],
          "flattened": flattened, "global pooling": pooled}

# %%
def shift(X, k):
    """Images (n, c, h, w) moved right by k pixels, zeros moved in."""
    return F.pad(X, (k, 0))[..., :X.shape[-1]]


shifts = (0, 1, 2, 3, 4, 6, 8)
by_shift = {name: [accuracy(net, shift(X_val[:1000], k), y_val[:1000])
                   for k in shifts] for name, net in movers.items()}
kept = {name: values[2] / values[0] for name, values in by_shift.items()}

# %% tags=["rtol=0.3", "hide-input"]
_, ax = plt.subplots()
for i, (name, values) in enumerate(by_shift.items()):
    ax.plot(shifts, values, ("-o", "--s", ":D", "-.^")[i], label=name)
ax.axhline(0.1, color="#888888", lw=0.8)
ax.set(xlabel="shift to the right in pixels", ylabel="accuracy",
       ylim=(0, 1))
ax.legend()
d2l.describe(ax, """Accuracy against the shift of the images. The perceptron
    falls from above 0.8 to below 0.6 at two pixels and 0.3 at four. LeNet
    and the flattened network keep more up to two pixels, then fall too.
    The network with global pooling starts lower and falls least.""")

# %% [markdown]
# **Figure 7.6.8.** What is left of the accuracy when images move.
# No network has seen a shifted image in training.

# %%
if full_run and real:
    assert kept["MLP"] < 0.75 < kept["LeNet"] < kept["global pooling"]
    assert by_shift["LeNet"][5] < 0.4 < by_shift["global pooling"][5]
    grid, means = by_shift["flattened"], by_shift["global pooling"]
    assert means[4] > grid[4] + 0.2  # at four pixels
    if compare_epochs < 10:
        assert grid[0] > means[0] + 0.05  # the price, at this budget

# %% [markdown]
# LeNet tolerates a pixel or two, about half of the four pixels that lie between neighbouring positions of its last maps.
# A larger shift moves these maps by a position, and the dense layer, which has a weight for each position, has never seen a sneaker there.
# Equivariance ([Section 7.1](01-from-dense-to-convolution.ipynb)) says that the maps move along with the object; to be *invariant* a network must not ask where in the map something is.
# Global pooling does not ask.
# At four pixels it is far ahead of the flattened network, which has the same body and the same training.
# Its price is the distance of these two at shift 0: where garments are always centred, position is information, which the one uses and the other throws away.
# That is the price at this budget; it may be another one with more images and epochs, as in the profile `gpu`.
#
# Move the slider and watch the three probabilities for one sneaker.

# %% tags=["chaotic", "hide-input"]
def draw(fig, shift_by, network):
    """The moved sneaker and what one network says about it."""
    image = shift(sneaker[None], int(shift_by))  # (1, 1, 28, 28)
    with torch.no_grad():
        p = movers[network].cpu()(image).softmax(dim=1)[0]
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.5])
    left.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    left.axis("off")
    colors = ["C1" if k == 7 else "C0" for k in range(10)]
    right.barh(range(10), p.tolist(), color=colors)
    right.set_yticks(range(10), labels=data.text_labels(range(10)))
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="probability")


d2l.sliders(draw, """Left a sneaker, moved to the right by some pixels;
    right the probabilities of the ten classes in the eyes of one network,
    the true class in orange.""", figsize=(5.6, 2.7),
            shift_by=[0, 3, 6],
            network=[name for name in movers if name != "flattened"])

# %% [markdown]
# **Figure 7.6.9.** One sneaker on its way to the right, judged by three networks.

# %% [markdown]
# ## Summary
#
# - LeNet is an encoder of two blocks, convolution, activation, pooling, and a dense head; 61 706 parameters, 416 520 multiply-accumulates, and the two are found in different layers.
# - What bears its name today differs from the network of 1998 in activation, pooling, connections and output.
# - The slopes of four sigmoids leave the early layers a tiny gradient: the loss stays at $\log10$ for over a thousand steps. Larger slopes shorten the wait, and so do larger steps of the early layers; with ReLU there is none.
# - At equal parameters and epochs LeNet beats the perceptron; at equal compute in all, on 9000 images, a small perceptron that trains longer beats LeNet. A comparison has to say what is equal.
# - Its advantage rests on the arrangement of the pixels: permute them, and it is gone, while the perceptron notices nothing.
# - LeNet with its dense head tolerates a shift of a pixel or two; global pooling tolerates much more.

# %% [markdown]
# ## Exercises
#
# ### Exercise 7.6-1
#
# Modernize LeNet one step at a time: exchange only the sigmoids for ReLU, only average for maximum pooling.
# Which of the two ends the plateau?
# (A well-known text asks at this place to "replace the softmax layer by ReLU"; the sigmoids are meant.)

# %% [markdown]
# #### Solution 7.6-1

# %% [markdown]
# ReLU does.
# The pooling has no part in the factor $4^{-4}$: an average over four positions passes on four quarters of gradient, a maximum one whole.
# Two hundred steps show it; both changes together have trained above.

# %% tags=["rtol=0.1"]
variants = {"only ReLU": {"activation": nn.ReLU},
            "only maximum": {"pool": nn.MaxPool2d}}
for name, options in variants.items():
    net = make_lenet(0, **options).net.to(device)
    train(net, X[:3200], y[:3200], 1, seed=0, lr=0.1, size=16)
    with torch.no_grad():
        loss = F.cross_entropy(net(X[-500:]), y[-500:]).item()
    print(f"{name}, after 200 steps: loss {loss:.1f}")
    if full_run and real:
        if name == "only ReLU":
            assert loss < 1.3
        else:
            assert abs(loss - math.log(10)) < 0.05  # still waiting
if full_run and real:
    assert relu_history["val_acc"][-1] >= 0.78  # both

# %% [markdown]
# ### Exercise 7.6-2
#
# Change kernel sizes, numbers of channels and depth, with at most 60 000 parameters, so that the network exceeds an accuracy of 0.80 after two epochs on the images of the comparison.

# %% [markdown]
# #### Solution 7.6-2

# %% [markdown]
# Most of LeNet's parameters sit in the first dense layer, where $5\times5$ positions of 16 maps are told apart.
# A third block with stride 2 leaves a grid of $4\times4$, and one hidden dense layer of 64 units is enough, so there is room for more channels with fewer parameters in all.
# The first convolution has stride 2, so it works at a quarter of the positions, and no pooling follows it.

# %%
torch.manual_seed(0)
lean = nn.Sequential(
    nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),  # (8, 14, 14)
    nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),  # (32, 4, 4)
    nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))
lean.apply(init_he).to(device)
train(lean, X, y, 2, seed=0)
lean_score = accuracy(lean, X_val[:2000], y_val[:2000])
print(count_params(lean), "parameters,",
      sum(count_macs(lean, (1, 1, 28, 28)).values()), "operations")
assert count_params(lean) <= 60_000
if full_run and real:
    assert lean_score > 0.80

# %% [markdown]
# ### Exercise 7.6-3
#
# Rebuild the network of 1998 for $32\times32$ images: scaled tanh $1.7159\tanh\frac{2z}{3}$; pooling as the sum of four values times a trained weight plus a trained bias, followed by the activation; second maps that see the subsets of first maps that the solution lists; an output of squared distances to fixed codes.
# Count its parameters.

# %% [markdown]
# #### Solution 7.6-3

# %% [markdown]
# The subsets are: for maps 0 to 5 three neighbouring first maps (in a circle), for maps 6 to 11 four neighbouring ones, for maps 12 to 14 four that are not all neighbours, and for the last one all six.
# A convolution with all connections, whose kernel is multiplied by a mask of zeros and ones, computes the same as a sparse one; then only the weights under a one count as parameters.
# The codes were bitmaps of $7\times12$ pixels, one for each digit; random signs of the same shape serve for counting.

# %%
groups = [[(i + j) % 6 for j in range(3)] for i in range(6)]
groups += [[(i + j) % 6 for j in range(4)] for i in range(6)]
groups += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], list(range(6))]
mask = torch.zeros(16, 6, 1, 1)
for i, group in enumerate(groups):
    mask[i, group] = 1


def squash(z):
    return 1.7159 * torch.tanh(2 * z / 3)


class Subsampling(nn.Module):
    """Sums of 2 x 2 values, times a weight, plus a bias, per channel."""

    def __init__(self, c):
        super().__init__()
        self.weight = nn.Parameter(torch.full((c, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(c, 1, 1))

    def forward(self, X):
        return squash(4 * F.avg_pool2d(X, 2) * self.weight + self.bias)

# %%
class LeNet1998(nn.Module):
    """LeNet-5 as published: (n, 1, 32, 32) -> squared distances (n, 10)."""

    def __init__(self):
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.s2, self.s4 = Subsampling(6), Subsampling(16)
        self.c5, self.f6 = nn.Conv2d(16, 120, 5), nn.Linear(120, 84)
        codes = torch.randn(10, 84).sign()
        self.register_buffer("codes", codes)  # fixed: no parameter
        self.register_buffer("mask", mask.clone())

    def forward(self, X):
        X = self.s2(squash(self.c1(X)))  # (n, 6, 14, 14)
        weight = self.c3.weight * self.mask
        X = self.s4(squash(F.conv2d(X, weight, self.c3.bias)))
        X = squash(self.c5(X)).flatten(1)  # (n, 16, 5, 5) -> (n, 120)
        return torch.cdist(squash(self.f6(X)), self.codes) ** 2

# %%
torch.manual_seed(0)
old = LeNet1998()
unused = int((1 - mask).sum()) * 25  # weights under a zero
print(count_params(old) - unused, "trainable parameters")
assert count_params(old) - unused == 60_000
assert mask.sum() == 60 and len({tuple(g) for g in groups}) == 16
distances = old(torch.rand(2, 1, 32, 32))  # (2, 10)
distances.sum().backward()
assert distances.shape == (2, 10) and (distances >= 0).all()
assert (old.c3.weight.grad[mask.expand(-1, -1, 5, 5) == 0] == 0).all()

# %% [markdown]
# ### Exercise 7.6-4
#
# Real digits in miniature: train a small convolutional network on the $8\times8$ digits of scikit-learn, 1400 of them, drawn at random, for training and the rest for testing.

# %% [markdown]
# #### Solution 7.6-4

# %% [markdown]
# Two $3\times3$ convolutions with 8 and 16 channels and padding 1, each with ReLU and maximum pooling, leave 16 maps of $2\times2$, and one dense layer does the rest.
# Momentum (Section 12.6) speeds the training up.

# %% tags=["rtol=0.02"]
from sklearn.datasets import load_digits  # noqa: E402

bunch = load_digits()
digits = torch.tensor(bunch.images / 16, dtype=torch.float32)
mixed = torch.randperm(len(digits),
                       generator=torch.Generator().manual_seed(0))
digits, labels = digits[mixed, None], torch.tensor(bunch.target)[mixed]
torch.manual_seed(0)
small_net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(64, 10))
train(small_net, digits[:1400], labels[:1400], epochs=15, seed=0, lr=0.1,
      momentum=0.9)
test_accuracy = accuracy(small_net, digits[1400:], labels[1400:])
print(f"test accuracy {test_accuracy:.2f}")
assert test_accuracy >= 0.95

# %% [markdown]
# ### Exercise 7.6-5
#
# Does a channel of the second block respond to a kind of garment?
# Compare the mean activation of each channel between the classes.

# %% [markdown]
# #### Solution 7.6-5

# %% [markdown]
# For each class we average a channel over images and positions.
# Divided by the mean over all classes, the table shows what each channel prefers.
# A channel that responded to one class alone would have the value 10 there.
# None comes near it: the largest ratio is below 5, every channel that responds at all responds to several classes, and a class is a pattern over channels.
#
# A channel may also be *dead*: its ReLU is 0 at (nearly) every position of all these images, and then its column says nothing.
# [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb) describes how a unit gets there.
# The program looks for such channels and leaves them out of the comparison.

# %% tags=["chaotic"]
sample, kinds = whole.X_val[:1000], whole.y_val[:1000]
_, maps = activations(nets["LeNet"].cpu(), sample)  # (1000, 16, 5, 5)
level = maps.mean(dim=(2, 3))  # (1000, 16)
table = torch.stack([level[kinds == k].mean(dim=0) for k in range(10)])
alive = level.mean(dim=0) > 1e-3  # (16,)
print("dead channels:", (~alive).nonzero().flatten().tolist())
relative = table / table.mean(dim=0).clamp_min(1e-6)  # (10, 16)
torch.testing.assert_close(relative[:, alive].mean(dim=0),
                           torch.ones(int(alive.sum())))
_, ax = plt.subplots(figsize=(6.0, 3.2))
d2l.heatmap(relative, xlabel="channel of block 2", ax=ax,
            rows=data.text_labels(range(10)))
ax.set_xticks(range(0, 16, 5))
d2l.describe(ax, """A table of ten classes and sixteen channels, the mean
    activation relative to the mean over classes. A few cells are more than
    twice the average of their channel; most rows and columns have moderate
    differences. The column of a channel that is always 0 is dark.""")
if full_run:
    living = relative[:, alive]
    spread = living.amax(dim=0) / living.amin(dim=0).clamp_min(1e-3)
    assert (spread > 1.5).sum() >= 8  # most channels tell classes apart
    if real:
        assert 1.5 < living.max() < 5  # and none belongs to one class
        assert ((living > 0.5).sum(dim=0) >= 2).all()  # but to several

# %% [markdown]
# **Figure 7.6.10.** Mean activation of each channel by class, relative to its mean over classes.

# %% [markdown]
# ### Exercise 7.6-6
#
# Feed $32\times32$ images to LeNet and to the network with global pooling of the experiment with shifted images.
# What happens, and why?

# %% [markdown]
# #### Solution 7.6-6

# %% [markdown]
# The convolutions take any size.
# LeNet's first dense layer has weights for $16\cdot5\cdot5$ inputs, gets $16\cdot6\cdot6$, and stops.
# Global pooling leaves as many numbers as there are channels, whatever the size of the maps, so the network works without a change.
# It is less accurate than on the images that it was trained with; one possible reason is that the averages now include positions in the frame, so the last layer gets inputs unlike those of training.

# %%
large = F.pad(data.X_val[:1000], (2, 2, 2, 2))  # (1000, 1, 32, 32)
try:
    nets["LeNet"](large)
except RuntimeError as error:
    message = str(error)
print("LeNet:", message.splitlines()[0][:60])
share = accuracy(pooled, large, data.y_val[:1000])
print("global pooling: ten scores for each image")
with torch.no_grad():
    assert pooled(large[:2]).shape == (2, 10) and "shapes" in message
if full_run and real:
    assert 0.3 < share < by_shift["global pooling"][0] - 0.03

# %% [markdown]
# ## Sources
#
# - Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition, 1998, [doi:10.1109/5.726791](https://doi.org/10.1109/5.726791): LeNet-5, its table of connections, its 60 000 parameters, and the comparison with other methods.
# - Y. LeCun et al., Backpropagation applied to handwritten zip code recognition, 1989, [doi:10.1162/neco.1989.1.4.541](https://doi.org/10.1162/neco.1989.1.4.541): one of the first convolutional networks trained by backpropagation on images.
# - M. Lin, Q. Chen and S. Yan, Network in network, 2013, [arXiv:1312.4400](https://arxiv.org/abs/1312.4400): global average pooling.
# - S. Ioffe and C. Szegedy, Batch normalization, 2015, [arXiv:1502.03167](https://arxiv.org/abs/1502.03167).
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the form of LeNet that is taught today, and the order of topics.
