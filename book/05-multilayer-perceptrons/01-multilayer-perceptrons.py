# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#       smoke:
#         train_size: 2000
#         val_size: 500
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
# # 5.1 Multilayer perceptrons
#
# A linear model gives every input a fixed vote: more of it always moves the score in the same direction.
# This section puts a layer of nonlinear units between inputs and outputs, shows on pencil-and-paper examples what this adds, and separates three questions that are often mixed up: what such a network can represent, how many units that takes, and whether training finds the weights.
#
# **You will**
#
# - prove that no linear model can solve a given task, and repair the task with a better representation;
# - show why layers without a nonlinear function between them collapse to one;
# - build a network that approximates a given function with a guaranteed error, and one whose depth saves exponentially many units;
# - compare the common activation functions by their formulas, derivatives and saturation.
#
# **Cost**: about fifteen seconds on a CPU, no use for a GPU; a download of 31 MB, once.

# %%
import copy
import itertools
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST

d2l.use_style()
close = torch.testing.assert_close
f64 = torch.float64  # lets us check identities to twelve digits

# %% tags=["parameters"]
train_size = 10_000  # training images
val_size = 2_000  # test images
max_epochs = 5

# %% [markdown]
# ## Hidden layers
#
# ### Limitations of linear models
#
# In $o=\mathbf{w}^\top\mathbf{x}+b$ the feature $x_j$ has the derivative $w_j$, the same for all inputs.
# So the score rises with $x_j$ everywhere or falls with it everywhere, and at the same rate: a linear model is *monotone* in every feature.
# The softmax of Chapter 4 keeps this for any *two* classes, whose log-odds are the difference of two linear scores; only the probability of one class among three or more can rise and fall again.
#
# *Income and repayment.*
# Will a loan be repaid?
# A higher income makes it more likely, so the relation is monotone.
# But it is not linear: a rise from 0 to 50 000 changes much, one from 1 000 000 to 1 050 000 hardly anything.
# Here a transformation of the variables is enough, for example the logarithm of the income as the feature and the logit $\log\frac p{1-p}$ of the probability $p$ as the output.
#
# *Temperature and risk.*
# Does body temperature predict danger to life?
# Above 37 °C the risk grows with the temperature, below it grows when the temperature falls.
# This is not even monotone.
# The distance from 37 °C as the feature repairs it.

# %%
income = torch.linspace(1, 200, 200, dtype=f64)  # thousands per year
repaid = income**2 / (income**2 + 40**2)  # invented probability
temp = torch.linspace(33, 41, 161, dtype=f64)  # degrees Celsius
risk = 0.02 + 0.2 * (temp - 37).abs()  # invented


def linear_fit(x, y):
    """Least-squares line through (x, y); its values at x, shape (n,)."""
    A = torch.stack((x, torch.ones_like(x)), dim=1)  # (n, 2)
    return A @ torch.linalg.lstsq(A, y[:, None]).solution[:, 0]


panels = [("income (thousands)", income, "P(repaid)", repaid),
          ("temperature (°C)", temp, "risk", risk),
          ("log of income", income.log(), "logit", repaid.logit()),
          ("distance from 37 °C", (temp - 37).abs(), "risk", risk)]

# %% tags=["hide-input"]
_, axes = plt.subplots(2, 2, figsize=(6.6, 4.2))
for ax, (xlabel, x, ylabel, y) in zip(axes.flat, panels):
    line, order = linear_fit(x, y), x.argsort()
    ax.plot(x[order], y[order], label="truth")
    ax.plot(x[order], line[order], "--", label="best line")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    residual = (line - y).abs().max().item()
    ax.set_title(f"largest error {residual:.2f}")
    assert (residual < 1e-10) == (ax in axes[1])
axes[0, 0].legend(loc="lower right")
d2l.describe(axes, """Four panels. Top: repayment against income bends and
    saturates, risk against temperature is a V; the best line misses both,
    for the V it is nearly flat. Bottom: with the logarithm, the logit and
    the distance from 37 degrees the same data lie on straight lines.""")

# %% [markdown]
# **Figure 5.1.1.** Two invented relations that no line describes (top), and the same relations after a suitable change of variables (bottom).

# %% [markdown]
# *Pixels and categories.*
# Does a brighter pixel in row 13, column 17 make the image more likely a dog than a cat?
# A linear model must answer yes or no, once and for all images.
# But the meaning of a pixel depends on the pixels around it.
# One transformation makes this plain: turn the image into its negative.
# People still recognize what it shows, although every pixel that was bright is now dark.
# For inversion alone there is a formula: the distance from middle grey, $|x_j-\frac12|$, is the same for an image and its inverse.
# For shifts, other poses or other light there is no formula at hand.
#
# We can run this thought experiment on the garments of [Section 4.2](../04-linear-classification/02-image-classification-dataset.ipynb).
# The *inverse* of an image $\mathbf{x}\in[0,1]^d$ is $\mathbf{1}-\mathbf{x}$, where $\mathbf{1}\in\mathbb{R}^d$ holds ones.

# %%
data = FashionMNIST(batch_size=64, train_size=train_size, val_size=val_size)
X_train, y_train = data.X_train, data.y_train  # (n, 1, 28, 28), (n,)
X_val, y_val = data.X_val, data.y_val
pairs = torch.cat((X_val[:6], 1 - X_val[:6]))  # (12, 1, 28, 28)
axes = d2l.show_images(pairs, 2, 6, scale=1.1,
                       titles=data.text_labels(y_val[:6]))
d2l.describe(axes, """Six garments and below each its inverse, a dark garment
    on a white ground. Shape and kind remain recognizable.""")

# %% [markdown]
# **Figure 5.1.2.** Six test images and their inverses.
# The label of an inverse is the label of the image.

# %% [markdown]
# The scores of a linear model, $\mathbf{o}(\mathbf{x})=\mathbf{W}^\top\mathbf{x}+\mathbf{b}$, satisfy
#
# $$\mathbf{o}(\mathbf{1}-\mathbf{x}) = \left(\mathbf{W}^\top\mathbf{1}+2\mathbf{b}\right)-\mathbf{o}(\mathbf{x}), \tag{5.1.1}$$
#
# with $\mathbf{W}\in\mathbb{R}^{d\times q}$ and $\mathbf{o},\mathbf{b}\in\mathbb{R}^q$.
# The bracket does not depend on the image.
# Up to a constant, inverting the image changes the sign of all scores: what spoke for a class now speaks against it.
#
# Let $\delta(\mathbf{x})$ be the difference of the scores of two classes; then $\delta(\mathbf{1}-\mathbf{x})=c-\delta(\mathbf{x})$ with a fixed number $c$.
# An image of the first class is recognized in both versions only if $\delta(\mathbf{x})>0$ and $c-\delta(\mathbf{x})>0$, hence only if $c>0$.
# An image of the second class needs two negative numbers, hence $c<0$.
# Both cannot hold.
# So of all ten classes, *at most one* can contain images that a linear model recognizes in both versions.
# With ten classes of equal size the accuracy over images and inverses together cannot exceed $\frac12(1+\frac1{10})=0.55$, whatever the weights.
#
# We train softmax regression twice, on the normal images and on a training set in which a random half of the images is inverted.
# Comparisons in this chapter use the same *stable recipe*, unless they say otherwise: 10 000 training images, the optimizer Adam with learning rate 0.001, batches of 64, 5 epochs.
# Adam is a relative of SGD that chooses the size of the step for each parameter separately (Chapter 12).

# %%
def train(net, X, y, seed=0):
    """The stable recipe; returns the trained net."""
    generator = torch.Generator().manual_seed(seed)
    loader = d2l.BatchLoader((X, y), 64, shuffle=True, generator=generator)
    optim = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(max_epochs):
        for X_batch, y_batch in loader:
            loss = F.cross_entropy(net(X_batch), y_batch)
            optim.zero_grad()
            loss.backward()
            optim.step()
    return net


def hits(net, X, y):
    """Which examples the net gets right, shape (n,)."""
    with torch.no_grad():
        return net(X).argmax(dim=1) == y

# %%
generator = torch.Generator().manual_seed(1)
flip = torch.rand(len(X_train), 1, 1, 1, generator=generator) < 0.5
X_mixed = torch.where(flip, 1 - X_train, X_train)  # labels stay
torch.manual_seed(0)
linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
linear_mixed = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
train(linear, X_train, y_train)
train(linear_mixed, X_mixed, y_train)
results = {}


def report(name, net):
    """Accuracy on test images, on their inverses, and on both."""
    a, b = hits(net, X_val, y_val), hits(net, 1 - X_val, y_val)  # (n,)
    results[name] = [v.float().mean().item() for v in (a, b)]
    results[name].append(sum(results[name]) / 2)
    print(f"{name:16} images {results[name][0]:.2f}, "
          f"inverses {results[name][1]:.2f}, all {results[name][2]:.2f}")
    return a & b  # recognized in both versions


report("linear, normal", linear)
both = report("linear, mixed", linear_mixed)
print("classes with images recognized in both versions:",
      len(y_val[both].unique()))

# %%
with torch.no_grad():
    constant = linear_mixed(X_val) + linear_mixed(1 - X_val)  # (n, 10)
close(constant, constant[:1].expand_as(constant), rtol=0, atol=1e-4)
assert len(y_val[both].unique()) <= 1

# %% [markdown]
# Trained on normal images, the model fails on the inverses; trained on the mixture, it fails on both.
# Does (5.1.1) explain the second failure?
# Its bound is 0.55, and the first line of the table shows a linear model that gets 0.46 of both versions right.
# The rest is explained by what training minimizes.
# The cross-entropy $\ell(\mathbf{o},y)$ is a convex function of the scores $\mathbf{o}$: its value at the mean of two points is at most the mean of its values.
# The mean of the two scores in (5.1.1) is half the bracket, a vector $\bar{\mathbf{o}}\in\mathbb{R}^q$ that is the same for all images, so
#
# $$\tfrac12\left[\ell(\mathbf{o}(\mathbf{x}),y)+\ell(\mathbf{o}(\mathbf{1}-\mathbf{x}),y)\right] \ge \ell(\bar{\mathbf{o}},y).$$
#
# Whatever the weights, over images and inverses together the loss is at least that of a model with constant scores, which guesses: $\log10$ for ten classes of equal size.
# The model with accuracy 0.46 is confidently wrong on the other half and pays a huge loss.
# Training leads away from it, towards guessing; what little it gains beyond that is knowledge of which training images happened to be inverted.

# %%
shares = y_val.bincount() / len(y_val)
guessing = -(shares * shares.log()).sum().item()  # log 10, equal shares
assert math.log(10) - 0.05 < guessing < math.log(10) + 1e-6
losses = {}
for name, net in (("linear, normal", linear), ("linear, mixed", linear_mixed)):
    with torch.no_grad():
        pair = [F.cross_entropy(net(V), y_val) for V in (X_val, 1 - X_val)]
        fitted = F.cross_entropy(net(X_mixed), y_train).item()
    losses[name] = sum(pair).item() / 2
    print(f"{name:15} loss on both versions {losses[name]:5.2f}, "
          f"guessing {guessing:.2f}; mixture {fitted:.3f}")
    assert losses[name] >= guessing - 1e-5  # holds for any weights
if data.source == "real" and train_size >= 10_000 and max_epochs >= 5:
    assert results["linear, normal"][2] > results["linear, mixed"][2] + 0.1
    assert losses["linear, normal"] > 2 * losses["linear, mixed"]
    assert fitted < math.log(10) < losses["linear, mixed"]

# %% [markdown]
# A good representation would solve each of these problems, and a linear model on top of it would be enough.
# For income and temperature we found it by thinking; for images in general it has to be learned, *together* with the linear model that uses it.
# That is the idea of deep learning.
# Older ways around linearity, such as decision trees, kernel methods and splines, construct their representation by a fixed recipe.

# %% [markdown]
# ### The smallest case: XOR
#
# *Exclusive or* is 1 if exactly one of its two inputs is 1.
# Suppose that a linear threshold computed it: output 1 if and only if $w_1x_1+w_2x_2+b>0$.
# The four rows of its table demand
#
# $$b\le0,\qquad w_1+b>0,\qquad w_2+b>0,\qquad w_1+w_2+b\le0, \tag{5.1.2}$$
#
# with numbers $w_1,w_2,b$.
# Adding the two in the middle gives $w_1+w_2+2b>0$; adding the outer two gives $w_1+w_2+2b\le0$, a contradiction.
#
# Two inputs allow $2^4=16$ functions with values 0 and 1; a search over a few weights finds all that a threshold can do.

# %%
X = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=f64)  # (4, 2)
xor = torch.tensor([[0], [1], [1], [0]], dtype=f64)  # (4, 1)
grid = [-1.5, -1.0, -0.5, 0.5, 1.0, 1.5]
found = {tuple((X @ torch.tensor([w1, w2], dtype=f64) + b > 0).tolist())
         for w1, w2, b in itertools.product(grid, repeat=3)}
missing = set(itertools.product([False, True], repeat=4)) - found
print(f"{len(found)} of 16 functions found; missing:")
for outputs in sorted(missing):
    print([int(o) for o in outputs])

# %% [markdown]
# Only XOR and its negation are missing; for XOR the best linear fit by least squares is the constant $\frac12$.
#
# Now add two units between inputs and output.
# With $\operatorname{ReLU}(z)=\max(z,0)$,
#
# $$h_1 = \operatorname{ReLU}(x_1+x_2),\qquad h_2 = \operatorname{ReLU}(x_1+x_2-1),\qquad o = h_1-2h_2. \tag{5.1.3}$$
#
# The input $(1,1)$ has $h_1=2$, $h_2=1$, hence $o=2-2=0$; for $(0,1)$ and $(1,0)$ we get $h_1=1$, $h_2=0$, $o=1$; for $(0,0)$ everything is 0.
# This is XOR, and $o$ is a linear function of $(h_1,h_2)$.

# %%
W1, b1 = torch.ones(2, 2, dtype=f64), torch.tensor([[0, -1]], dtype=f64)
W2 = torch.tensor([[1], [-2]], dtype=f64)  # (2, 1)
H = torch.relu(X @ W1 + b1)  # (4, 2) @ (2, 2) + (1, 2) -> (4, 2)
o = H @ W2  # (4, 2) @ (2, 1) -> (4, 1)
for x, h, out in zip(X.tolist(), H.tolist(), o[:, 0].tolist()):
    print("x", x, "  h", h, "  o", out)

# %%
# check 5.1-C1: XOR by hand; the best linear fit; 14 of 16 functions
assert torch.equal(o, xor)
A = torch.cat((X, torch.ones(4, 1, dtype=f64)), dim=1)  # (4, 3)
fit = torch.linalg.lstsq(A, xor).solution[:, 0]
close(fit, torch.tensor([0, 0, 0.5], dtype=f64), rtol=0, atol=1e-12)
assert len(found) == 14
assert missing == {(False, True, True, False), (True, False, False, True)}

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.6, 2.9))
axis = torch.linspace(-0.5, 2.5, 301, dtype=f64)
a, b = torch.meshgrid(axis, axis, indexing="xy")
plane = torch.stack((a, b), dim=-1)  # (301, 301, 2)
hidden = torch.relu(plane @ W1 + b1)  # the plane, seen by the hidden units
for ax, points, field in ((axes[0], X, hidden @ W2), (axes[1], H, plane @ W2)):
    ax.contourf(a, b, field[..., 0], [-99, 0.5, 99],
                colors=["#d5e6f2", "#f9dfcc"])
    for value, marker in ((0, "o"), (1, "s")):
        at = points[xor[:, 0] == value]
        ax.plot(at[:, 0], at[:, 1], marker, ms=9, color=f"C{value}",
                label=f"XOR = {value}")
    ax.grid(False)
axes[0].set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xlabel="$x_1$",
            ylabel="$x_2$", title="input space")
axes[1].set(xlim=(-0.5, 2.5), ylim=(-0.5, 1.5), xlabel="$h_1$",
            ylabel="$h_2$", title="hidden space")
axes[1].annotate("(0, 1) and (1, 0)", H[1].tolist(), (1.08, 0.13))
axes[1].annotate("(1, 1)", H[3].tolist(), (1.55, 1.12))
axes[1].annotate("(0, 0)", H[0].tolist(), (-0.2, 0.13))
axes[1].legend(loc="upper left")
d2l.describe(axes, """Left: the four inputs of XOR at the corners of a square,
    equal values on a diagonal; a band between two parallel lines holds the
    two ones. Right: in the hidden space the two ones coincide at (1, 0),
    and a single line separates them from the zeros at (0, 0) and (2, 1).""")

# %% [markdown]
# **Figure 5.1.3.** The hidden units fold the plane: two inputs with the same answer land on one point, and a line separates what no line could separate before.
# Orange marks where the network says 1.

# %% [markdown]
# ### Incorporating hidden layers
#
# A *multilayer perceptron*, MLP for short, is a stack of $L$ fully connected layers, each of which feeds the next.
# The first $L-1$ layers compute a representation; the last one is a linear model on it.
# Layers whose values are neither given nor asked for are called *hidden layers*, and their nodes are *hidden units*.
#
# ![Four input circles x1 to x4 at the bottom, five hidden circles h1 to h5 in the middle, three output circles o1 to o3 at the top. Every input is joined to every hidden unit, every hidden unit to every output.](img/mlp-network.svg)
#
# **Figure 5.1.4.** An MLP with four inputs, five hidden units and three outputs.
# The inputs compute nothing, so the network has *two* layers, both fully connected.

# %% [markdown]
# Each unit has one weight for each unit below, and a bias.
# For Figure 5.1.4 this gives $4\cdot5+5=25$ parameters in the hidden layer and $5\cdot3+3=18$ in the output layer.
# The price of full connection grows quickly: a hidden layer as wide as its input of $d$ units has $d^2$ weights, $10^{12}$ for a megapixel image.
# Chapter 7 saves almost all of them.

# %%
# check 5.1-C8: the 4-5-3 network has 43 parameters
net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
sizes = [p.numel() for p in net.parameters()]
print("weights and biases of both layers:", sizes, " in all:", sum(sizes))
assert sum(sizes) == 43

# %% [markdown]
# ### From linear to nonlinear
#
# Let $\mathbf{X}\in\mathbb{R}^{n\times d}$ be a minibatch of $n$ examples with $d$ features.
# With $h$ hidden units and $q$ outputs the hidden layer has weights $\mathbf{W}^{(1)}\in\mathbb{R}^{d\times h}$ and biases $\mathbf{b}^{(1)}\in\mathbb{R}^{1\times h}$, the output layer $\mathbf{W}^{(2)}\in\mathbb{R}^{h\times q}$ and $\mathbf{b}^{(2)}\in\mathbb{R}^{1\times q}$.
# The upper index in brackets counts the layers.
#
# Suppose first that both layers are affine and nothing else.
# Then
#
# $$\begin{gathered} \mathbf{O} = \left(\mathbf{X}\mathbf{W}^{(1)}+\mathbf{b}^{(1)}\right)\mathbf{W}^{(2)}+\mathbf{b}^{(2)} = \mathbf{X}\mathbf{W}+\mathbf{b}, \\[4pt] \mathbf{W} = \mathbf{W}^{(1)}\mathbf{W}^{(2)},\quad \mathbf{b} = \mathbf{b}^{(1)}\mathbf{W}^{(2)}+\mathbf{b}^{(2)}. \end{gathered} \tag{5.1.4}$$
#
# $\mathbf{O}\in\mathbb{R}^{n\times q}$ are the outputs, $\mathbf{W}\in\mathbb{R}^{d\times q}$ and $\mathbf{b}\in\mathbb{R}^{1\times q}$ the parameters of the single layer that does the same.
# There are more parameters but no new functions, and fewer functions if $h$ is small: the rank of $\mathbf{W}$ is at most $h$.

# %%
def collapse(W1, b1, W2, b2):
    """The one affine layer (W, b) that equals two in a row."""
    return W1 @ W2, b1 @ W2 + b2


rng = torch.Generator().manual_seed(5)
d, h, q = 6, 2, 4
parts = [torch.randn(s, generator=rng, dtype=f64)
         for s in ((d, h), (1, h), (h, q), (1, q))]
W, b = collapse(*parts)  # (6, 4), (1, 4)
print("rank of the product:", torch.linalg.matrix_rank(W).item(),
      " of a free (6, 4) matrix: up to 4")

# %%
# check 5.1-C2: two affine layers are one, of rank h
W1, b1, W2, b2 = parts
batch = torch.randn(9, d, generator=rng, dtype=f64)
close((batch @ W1 + b1) @ W2 + b2, batch @ W + b, rtol=0, atol=1e-12)
assert torch.linalg.matrix_rank(W) == h == 2

# %% [markdown]
# What is missing is a nonlinear function $\sigma$ between the layers, the *activation function*:
#
# $$\mathbf{H} = \sigma\left(\mathbf{X}\mathbf{W}^{(1)}+\mathbf{b}^{(1)}\right),\qquad \mathbf{O} = \mathbf{H}\mathbf{W}^{(2)}+\mathbf{b}^{(2)}. \tag{5.1.5}$$
#
# $\mathbf{H}\in\mathbb{R}^{n\times h}$ holds the *activations*, the outputs of $\sigma$, one row for each example.
# Further layers are stacked in the same way,
#
# $$\mathbf{H}^{(1)} = \sigma_1\left(\mathbf{X}\mathbf{W}^{(1)}+\mathbf{b}^{(1)}\right),\qquad \mathbf{H}^{(2)} = \sigma_2\left(\mathbf{H}^{(1)}\mathbf{W}^{(2)}+\mathbf{b}^{(2)}\right),\quad\dots \tag{5.1.6}$$
#
# where $\mathbf{H}^{(l)}$ has one row for each example and one column for each unit of layer $l$, and every layer may have its own $\sigma_l$.
# Unless we say otherwise $\sigma$ acts *elementwise*: each activation depends on one number, its own weighted sum.
# Other functions should at least act on each row separately, as the softmax does; Exercise 5.1-5 shows what goes wrong otherwise.

# %% [markdown]
# The weights of an MLP are not determined by the function that it computes.
# Exchange two hidden units together with their incoming and outgoing weights, and nothing changes.
# With ReLU one may also double the weights and the bias that lead into a unit, and halve the weights that lead out of it.
# [Section 5.4](04-numerical-stability-and-initialization.ipynb) shows what these symmetries mean for the start of training.

# %%
swap = torch.tensor([1, 0])  # exchange both hidden units
H = torch.relu(batch @ W1 + b1)  # (9, 2)
close(H @ W2, torch.relu(batch @ W1[:, swap] + b1[:, swap]) @ W2[swap])
close(H @ W2, torch.relu(batch @ (2 * W1) + 2 * b1) @ (W2 / 2))

# %% [markdown]
# Back to the inverted images, with the same recipe: a linear model on the feature $|x_j-\frac12|$ found by thinking, and a hidden layer of 256 units on the pixels.

# %%
class DistanceFromGrey(nn.Module):
    def forward(self, X):
        return (X - 0.5).abs()  # the same for X and 1 - X


torch.manual_seed(0)
by_hand = nn.Sequential(DistanceFromGrey(), nn.Flatten(),
                        nn.Linear(784, 10))
train(by_hand, X_mixed, y_train)
close(by_hand[0](X_val), by_hand[0](1 - X_val))
report("by hand, mixed", by_hand)
torch.manual_seed(0)
mlp = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(),
                    nn.Linear(256, 10))
train(mlp, X_mixed, y_train)
both = report("MLP, mixed", mlp)
print("classes with images recognized in both versions:",
      len(y_val[both].unique()))

# %%
# check 5.1-C7: inverted images (real data; 10 000 images, 5 epochs, or more)
if data.source == "real" and train_size >= 10_000 and max_epochs >= 5:
    assert results["linear, normal"][0] > 0.78
    assert results["linear, normal"][1] < 0.15
    assert 0.12 < results["linear, mixed"][2] < 0.3
    assert results["MLP, mixed"][2] > 0.76
    assert 0.65 < results["by hand, mixed"][2] < 0.77
    assert results["MLP, mixed"][2] > results["by hand, mixed"][2] + 0.03
    assert results["linear, normal"][0] - results["MLP, mixed"][2] < 0.06
    assert len(y_val[both].unique()) == 10

# %% [markdown]
# With the right feature a linear model recognizes both versions of most images.
# The hidden layer was told nothing about inversion and does better: it nearly regains on both versions what the linear model had on one.

# %% [markdown]
# ### Representable is not learnable
#
# By (5.1.3) two hidden units represent XOR.
# Does gradient descent find such weights?
# We let 50 networks start from different random weights and train each for 300 steps.
#
# A loop over 50 tiny networks would be slow, so we stack them: every parameter gets a new first axis, one entry per network.
# `stack_module_state` does that, and `torch.vmap` applies a function written for one network along this axis.

# %% tags=["export"]
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

# %% [markdown]
# Training minimizes the sum of the losses.

# %% tags=["export"]
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

# %% [markdown]
# The gradient of the sum with respect to the weights of one network contains the loss of this network only, and SGD and Adam treat every entry separately.
# So these are independent trainings: a network in a stack must end with the weights that it gets alone, on the same batches.

# %%
torch.manual_seed(0)
nets = [nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
        for _ in range(3)]
A, labels = torch.randn(40, 6, dtype=f64), torch.randint(3, (40,))
order = torch.stack([torch.randperm(40) for _ in nets])  # (3, 40)
start = [p.detach().clone() for p in nets[1].parameters()]
stack = Stack(nets)
train_stack(stack, A, labels, order.split(8, dim=1), F.cross_entropy,
            torch.optim.SGD(stack.parameters(), lr=0.1))
for p, before in zip(nets[1].parameters(), start):
    assert torch.equal(p, before)  # the network was copied
optim = torch.optim.SGD(nets[1].parameters(), lr=0.1)
for rows in order[1].split(8):
    optim.zero_grad()
    F.cross_entropy(nets[1](A[rows]), labels[rows]).backward()
    optim.step()
for alone, stacked in zip(nets[1].parameters(), stack.params):
    close(stacked[1], alone, rtol=0, atol=1e-12)
assert (stack.params[0][1] - start[0]).abs().max() > 0.01
close(stack(A)[1], nets[1](A))  # the same X for all
drop = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5)).double()
drop[0].bias.requires_grad_(False)
pair = Stack([drop, drop])  # equal networks, each with its own masks
assert not torch.equal(*pair(A)) and torch.equal(*pair.eval()(A))
assert [p.requires_grad for p in pair.params] == [True, False]
try:
    Stack([nn.BatchNorm1d(3)])  # keeps statistics, Section 8.5
except ValueError as error:
    assert "running_mean" in str(error)
else:
    raise AssertionError("buffers were dropped in silence")

# %%
def train_xor(h, steps=300, lr=0.05, models=50, seed=0):
    """Train networks 2-h-1 on XOR; which solve it, and their losses."""
    torch.manual_seed(seed)
    stack = Stack([nn.Sequential(nn.Linear(2, h), nn.ReLU(),
                                 nn.Linear(h, 1)).double()
                   for _ in range(models)])
    losses = train_stack(stack, X, xor, [torch.arange(4)] * steps,
                         F.binary_cross_entropy_with_logits,
                         torch.optim.Adam(stack.parameters(), lr=lr))
    right = (stack(X) > 0) == (xor > 0.5)  # (models, 4, 1)
    return right.all(dim=1)[:, 0], losses  # (models,), (models,)


widths = [1, 2, 3, 4, 6, 8, 12, 16]
runs = {h: train_xor(h) for h in widths}
shares = [runs[h][0].double().mean().item() for h in widths]

# %%
ax = d2l.plot(widths, shares, fmts=("o-",), xlabel="hidden units",
              ylabel="share of runs that learn XOR", ylim=(-0.04, 1.04))
ax.axvline(2, ls=":", color="black")
ax.text(2.9, 0.1, "two units suffice to represent it", fontsize=9)
d2l.describe(ax, """Share of 50 training runs that learn XOR against the
    number of hidden units: none with one unit, a small part with two,
    less than half with three, about nine tenths with six, all with
    sixteen.""")

# %% [markdown]
# **Figure 5.1.5.** Two units can represent XOR, but in most of the 50 runs training does not find the weights; with 16 units it finds them in all 50.

# %%
# check 5.1-C3: learning XOR with 2 and with 16 hidden units, 50 seeds
successes = {h: runs[h][0].sum().item() for h in (1, 2, 16)}
assert successes[1] == 0  # a single ReLU unit cannot represent XOR
assert 1 <= successes[2] <= 25
assert successes[16] == 50

# %% [markdown]
# Five times as many steps do not rescue most of the failed runs (Exercise 5.1-7).
# With more units more starts succeed, one reason often given for making networks larger than the task requires.

# %% [markdown]
# ### Universal approximators
#
# The classical theorem says: for every *continuous* function on a closed and bounded set of inputs and every tolerance there is a network with one hidden layer, wide enough, that stays within this tolerance everywhere on the set.
# Cybenko (1989) proved it for sigmoids; Leshno, Lin, Pinkus and Schocken (1993) showed that, under mild conditions of regularity, the activation functions for which it holds are exactly those that are not polynomials.
#
# The theorem is often quoted as "a network can compute any function", which is too much.
# It says nothing about functions with jumps, about inputs outside the set, about training, or about the number of units, which may grow exponentially with the number of inputs.
#
# For one input and ReLU there is a proof that can be run.
# Divide $[a,b]$ into $n$ equal parts of width $\Delta=(b-a)/n$ with the *knots* $k_i=a+i\Delta$, and join the points $(k_i,f(k_i))$ by segments.
# The segment after $k_i$ has the slope $s_i=(f(k_{i+1})-f(k_i))/\Delta$.
# A term $c\operatorname{ReLU}(x-k)$, a *hinge*, is 0 up to $k$ and then rises with slope $c$, so
#
# $$\hat f(x) = f(k_0)+\sum_{i=0}^{n-1}c_i\operatorname{ReLU}(x-k_i),\qquad c_0=s_0,\quad c_i=s_i-s_{i-1}, \tag{5.1.7}$$
#
# has on each part the slope $c_0+\dots+c_i=s_i$: it is the broken line.
# (5.1.7) is an MLP with $n$ hidden units, whose hidden weights are 1, hidden biases $-k_i$, output weights $c_i$, and output bias $f(k_0)$.
# The error of linear interpolation is a standard result:
#
# $$\max_{a\le x\le b}|\hat f(x)-f(x)| \le \frac{\Delta^2}8\max_{a\le x\le b}|f''(x)|, \tag{5.1.8}$$
#
# where $f''$, the second derivative, is assumed to be continuous.

# %%
def relu_interpolant(f, a, b, n):
    """A network with n hidden units that interpolates f on [a, b].

    Returns it as a function of x (...,), with its knots (n,) and output
    weights (n,) as attributes.
    """
    knots = torch.linspace(a, b, n + 1, dtype=f64)  # (n + 1,)
    slopes = f(knots).diff() / knots.diff()  # (n,)
    k, c = knots[:-1], torch.cat((slopes[:1], slopes.diff()))  # (n,)

    def net(x):
        return f(knots[0]) + torch.relu(x[..., None] - k) @ c  # (...,)

    net.knots, net.weights = k, c
    return net


x = torch.linspace(0, 2 * math.pi, 40_001, dtype=f64)
print("units  largest error  bound")
for n in (8, 32, 128):
    error = (relu_interpolant(torch.sin, 0, 2 * math.pi, n)(x)
             - x.sin()).abs().max().item()
    print(f"{n:5}{error:13.6f}{(2 * math.pi / n) ** 2 / 8:12.6f}")

# %% tags=["hide-input"]
def draw(fig, units):
    n = int(units)
    net = relu_interpolant(torch.sin, 0, 2 * math.pi, n)
    xs = torch.linspace(0, 2 * math.pi, 401, dtype=f64)
    left, right = fig.subplots(1, 2)
    hinges = net.weights * torch.relu(xs[:, None] - net.knots)  # (401, n)
    left.plot(xs, hinges, color="C2", lw=0.9)
    left.set(title=f"{n} hinges", xlabel="x", ylim=(-4, 4))
    right.plot(xs, xs.sin(), color="#999999", lw=3, label="sin")
    right.plot(xs, net(xs), color="C1", lw=1.3, label="sum")
    right.plot(net.knots, net(net.knots), "o", ms=4, color="C1")
    error = (net(x) - x.sin()).abs().max().item()
    right.set(title=f"largest error {error:.3f}", xlabel="x",
              ylim=(-1.2, 1.2))
    right.legend(loc="upper right")


d2l.sliders(draw, """Left: hinge functions, each zero up to its knot and
    then a straight ray, up or down. Right: their sum, a broken line through
    points of the sine, which it approaches with more hinges.""",
    figsize=(6.6, 2.7), units=[3, 4, 5, 6, 8, 10, 12, 16, 24, 32])

# %% [markdown]
# **Figure 5.1.6.** Hinges (left) and their sum (right), a network with one hidden layer.

# %%
# check 5.1-C4: error of the interpolant against (5.1.8); no extrapolation
errors = {}
for n in (8, 16, 32, 64, 128):
    net = relu_interpolant(torch.sin, 0, 2 * math.pi, n)
    errors[n] = (net(x) - x.sin()).abs().max().item()
    bound = (2 * math.pi / n) ** 2 / 8
    assert 0.9 * bound < errors[n] <= bound
for n, expected in ((8, 0.0704), (32, 0.00479), (128, 0.000301)):
    assert abs(errors[n] / expected - 1) < 0.005
assert all(3.7 < errors[n] / errors[2 * n] < 4.1 for n in (8, 16, 32, 64))
far = relu_interpolant(torch.sin, 0, 2 * math.pi, 64)
outside = torch.tensor(3 * math.pi, dtype=f64)
assert abs((far(outside) - outside.sin()).abs() - 3.14) < 0.01

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.6, 2.7))
ns = torch.tensor(list(errors))
d2l.plot(ns, [torch.tensor(list(errors.values())),
              (2 * math.pi / ns) ** 2 / 8], ["largest error", "bound"],
         xlabel="hidden units", ylabel="error", xscale="log",
         yscale="log", fmts=("o-", "--"), ax=axes[0])
axes[0].set_xticks([8, 16, 32, 64, 128], [8, 16, 32, 64, 128])
axes[0].minorticks_off()
wide = torch.linspace(-math.pi, 3 * math.pi, 400, dtype=f64)
axes[1].axvspan(0, 2 * math.pi, color="#e5e5e5")
d2l.plot(wide, [wide.sin(), far(wide)], ["sin", "network, 64 units"],
         xlabel="x", ax=axes[1])
d2l.describe(axes, """Left: on logarithmic axes the error falls with slope -2
    just below its bound. Right: on the interval from 0 to 2 pi the network
    and the sine coincide; to the left the network is constant, to the right
    it rises along a straight line.""")

# %% [markdown]
# **Figure 5.1.7.** Left: the error shrinks with the square of the number of units.
# Right: outside the interval on which it was built (grey), the network continues as a straight line.

# %% [markdown]
# ### What depth adds
#
# One hidden layer is enough in principle, but some functions need far fewer units when these stand in several layers.
# The *tent map* folds the interval $[0,1]$ in the middle and stretches it back to its full length:
#
# $$t(x) = 2\operatorname{ReLU}(x)-4\operatorname{ReLU}(x-\tfrac12),\qquad 0\le x\le1. \tag{5.1.9}$$
#
# It takes two hidden units and has two linear pieces.
# Applied to its own output it folds a folded interval, and each application doubles the number of pieces.
# So $t$ composed $k$ times has $2^k$ pieces and is computed by $k$ layers of two units.
# A single hidden layer of $h$ ReLU units has at most $h$ bends, thus $h+1$ pieces (Exercise 5.1-3).
# To represent the same function it needs at least $2^k-1$ units: for $k=20$ over a million instead of 40.

# %%
def tent(x):
    """One fold of [0, 1]; two hidden ReLU units."""
    return 2 * torch.relu(x) - 4 * torch.relu(x - 0.5)


def pieces(y):
    """Number of linear pieces of a curve given on an equidistant grid."""
    slopes = y.diff()
    return 1 + (slopes.diff() != 0).sum().item()


ticks = torch.arange(1025, dtype=f64) / 1024  # exact in binary
curve, counts, curves = ticks, [], []
for k in range(1, 8):
    curve = tent(curve)
    curves.append(curve)
    counts.append(pieces(curve))
print("layers:", list(range(1, 8)), " pieces:", counts)

# %%
# check 5.1-C5: k compositions of the tent map have 2**k pieces
assert counts == [2, 4, 8, 16, 32, 64, 128]
one = relu_interpolant(lambda x: tent(tent(tent(x))), 0.0, 1.0, 8)
close(one(ticks), curves[2])  # the same function with one hidden layer
assert (one.weights != 0).all() and len(one.weights) >= 2**3 - 1

# %%
_, axes = plt.subplots(1, 4, figsize=(7.2, 2.1), sharey=True)
for k, ax in enumerate(axes, start=1):
    ax.plot(ticks, curves[k - 1], lw=1.2)
    ax.set(xlabel="x", title=f"depth {k}: {2 * k} units\n{2**k} pieces")
d2l.describe(axes, """The tent map and its compositions: a sawtooth with one,
    two, four and eight teeth at depths one to four.""")

# %% [markdown]
# **Figure 5.1.8.** The tent map, folded again by every further layer.
# The number of units grows by two, the number of pieces doubles.

# %% [markdown]
# The example is extreme, but it proves that width cannot always replace depth at a reasonable price.
# Which balance suits a task is found by experiment.

# %% [markdown]
# ## Activation functions
#
# An activation function decides, from the weighted sum of a unit plus its bias, how strongly the unit responds.
# Training needs its derivative, so it must be differentiable, except at single points.
#
# ### ReLU
#
# The *rectified linear unit* keeps positive numbers and replaces negative ones by 0:
#
# $$\operatorname{ReLU}(x) = \max(x,0). \tag{5.1.10}$$
#
# Here and below $x$ is one entry of $\mathbf{X}\mathbf{W}+\mathbf{b}$, a number, and the function is applied to each entry.
# The derivative is 0 for $x<0$ and 1 for $x>0$.
# At $x=0$ there is a corner and no derivative; PyTorch takes 0.
# ReLU is cheap, and where a unit is active the gradient passes unchanged: the usual reasons given for its success in deep networks.
# A unit that is inactive for all examples gets no gradient.
#
# *Parametrized ReLU* lets a small part of the negative side through:
#
# $$\operatorname{pReLU}(x) = \max(0,x)+\alpha\min(0,x). \tag{5.1.11}$$
#
# The number $\alpha$ is learned with the weights; a fixed one, often 0.01, gives the *leaky ReLU*.

# %%
def relu(x):
    return torch.where(x > 0, x, 0.0)


def prelu(x, alpha=0.25):
    return torch.where(x > 0, x, alpha * x)

# %% [markdown]
# ### Sigmoid
#
# The *sigmoid* squashes the real numbers into the interval $(0,1)$:
#
# $$\operatorname{sigmoid}(x) = \frac1{1+e^{-x}}. \tag{5.1.12}$$
#
# The model neurons of McCulloch and Pitts (1943) fired or did not fire at a threshold.
# A jump has derivative 0 wherever it has one, so gradients are of no use; the sigmoid is the smooth version of the jump.
# Its derivative can be written with its own value,
#
# $$\operatorname{sigmoid}'(x) = \operatorname{sigmoid}(x)\left(1-\operatorname{sigmoid}(x)\right) \le \tfrac14, \tag{5.1.13}$$
#
# with equality at $x=0$ only.
# Far from 0 the unit *saturates*: its value hardly depends on its input, and its gradient is almost 0.
# In the hidden layers of most networks ReLU and its relatives have replaced it.
# It remains where a number between 0 and 1 is wanted: as the probability of a binary output, and as a gate that lets a part of a signal pass (Chapter 10).
#
# ### Tanh
#
# The *hyperbolic tangent* is a sigmoid with values in $(-1,1)$:
#
# $$\tanh x = \frac{1-e^{-2x}}{1+e^{-2x}},\qquad \tanh'(x) = 1-\tanh^2x \le 1. \tag{5.1.14}$$
#
# It is odd, $\tanh(-x)=-\tanh x$, and near 0 almost the identity.
# The two are the same function up to scale and shift: $\tanh x+1=2\operatorname{sigmoid}(2x)$.

# %%
def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def tanh(x):
    return (1 - torch.exp(-2 * x)) / (1 + torch.exp(-2 * x))

# %% [markdown]
# ### Smooth relatives of ReLU
#
# Two newer functions weight the input by a number between 0 and 1 that grows with the input:
#
# $$\operatorname{GELU}(x) = x\,\Phi(x),\qquad \operatorname{SiLU}_\beta(x) = x\operatorname{sigmoid}(\beta x). \tag{5.1.15}$$
#
# $\Phi(x)=\frac12\left(1+\operatorname{erf}(x/\sqrt2)\right)$ is the distribution function of the standard normal distribution.
# $\beta>0$ sets the steepness; the case $\beta=1$ is called SiLU, the general one Swish.
# Both look like ReLU from afar but have no corner, and they are not monotone: they dip below zero to the left of 0.
# GELU and SiLU are common in Transformers (Chapter 11).
#
# Many of today's language models go one step further and use *gated* units: two affine maps of the same input, one of which, through a sigmoid or SiLU, weights the other entry by entry.
# With row vectors, $\operatorname{SwiGLU}(\mathbf{x})=\operatorname{SiLU}(\mathbf{x}\mathbf{W})\odot\mathbf{x}\mathbf{V}$ with two matrices $\mathbf{W},\mathbf{V}\in\mathbb{R}^{d\times h}$ (Shazeer, 2020).
# Such a layer has a third weight matrix, and its width is often cut to two thirds to keep the number of parameters.

# %%
def normal_cdf(x):
    return (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu(x):
    return x * normal_cdf(x)


def silu(x, beta=1.0):
    return x * sigmoid(beta * x)


def swiglu(x, W, V):  # (n, d), (d, h), (d, h) -> (n, h)
    return silu(x @ W) * (x @ V)


one = torch.ones(1, 1, dtype=f64)
close(swiglu(one, 3 * one, one), silu(3 * one))  # W has the gate
close(swiglu(one, one, 3 * one), 3 * silu(one))
close(F.glu(torch.cat((one, 3 * one), dim=1)), sigmoid(3 * one))

# %% [markdown]
# The dictionary holds each function, its derivative by the product rule and (5.1.13), and PyTorch's own.

# %%
def density(x):
    return torch.exp(-x**2 / 2) / math.sqrt(2 * math.pi)


def step(x):
    return (x > 0).to(x.dtype)


activations = {
    "ReLU": (relu, step, torch.relu),
    "pReLU": (prelu, lambda x: 0.25 + 0.75 * step(x),
              lambda x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype))),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x)),
                torch.sigmoid),
    "tanh": (tanh, lambda x: 1 - tanh(x) ** 2, torch.tanh),
    "GELU": (gelu, lambda x: normal_cdf(x) + x * density(x), F.gelu),
    "SiLU": (silu, lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
             F.silu)}

# %%
def gradient(function, x):
    """Derivative at each entry of x by automatic differentiation."""
    x = x.clone().requires_grad_()
    function(x).sum().backward()
    return x.grad

# %% tags=["hide-input"]
def plot_activation(name, ax):
    """An activation function and its derivative."""
    z = torch.linspace(-5, 5, 401, dtype=f64)
    function, _, _ = activations[name]
    slope = gradient(function, z)
    if "ReLU" in name:
        slope[z.abs() < 1e-9] = math.nan  # leave a gap at the jump
    d2l.plot(z, [function(z), slope], xlabel="x", title=name, ax=ax)
    ax.set_ylim((-1.2, 1.2) if name in ("sigmoid", "tanh") else (-1.4, 3))


_, axes = plt.subplots(2, 3, figsize=(7.2, 4.2))
for name, ax in zip(activations, axes.flat):
    plot_activation(name, ax)
axes[0, 0].legend(axes[0, 0].lines, ["function", "derivative"])
d2l.describe(axes, """Six activation functions with their derivatives. The
    derivatives of ReLU and pReLU jump at 0; those of sigmoid and tanh are
    bells of height 1/4 and 1 that vanish on both sides; those of GELU and
    SiLU rise smoothly from about 0 to about 1 and slightly leave this
    range on both sides.""")

# %% [markdown]
# **Figure 5.1.9.** Activation functions (solid) and their derivatives (dashed).
# Where the dashed line is near 0, a unit hardly learns; for sigmoid and tanh this happens on both sides, for ReLU, GELU and SiLU on one, for pReLU nowhere.

# %%
# check 5.1-C6: values at 0, formulas against autograd, minima, saturation
z = torch.linspace(-6, 6, 242, dtype=f64)  # does not contain 0
exact = {"rtol": 0, "atol": 1e-12}
for name, (own, derivative, builtin) in activations.items():
    close(own(z), builtin(z), **exact)
    close(derivative(z), gradient(own, z), **exact)
    close(derivative(z), gradient(builtin, z), **exact)
zero = torch.zeros(1, dtype=f64)
at_zero = {name: gradient(builtin, zero).item()
           for name, (_, _, builtin) in activations.items()}
print({name: round(value, 3) for name, value in at_zero.items()})
for name, value in (("ReLU", 0), ("sigmoid", 0.25), ("tanh", 1),
                    ("GELU", 0.5), ("SiLU", 0.5)):
    assert abs(at_zero[name] - value) < 1e-12
close(tanh(z) + 1, 2 * sigmoid(2 * z), **exact)
fine = torch.linspace(-3, 0, 300_001, dtype=f64)
for function, low, place in ((gelu, -0.16997, -0.7518),
                             (silu, -0.27846, -1.2785)):
    value, index = function(fine).min(dim=0)
    assert abs(value - low) < 1e-5 and abs(fine[index] - place) < 1e-4
eight = gradient(torch.sigmoid, zero + 8).item()
assert abs(eight - 3.4e-4) < 1e-5

# %% [markdown]
# None of them is a polynomial (except pReLU with $\alpha=1$), so networks of each kind are universal approximators, and [Section 5.2](02-mlp-implementation.ipynb) finds that with one hidden layer the choice among them hardly matters.
# It matters for deep networks, where derivatives of many layers are multiplied: ten sigmoid layers contribute a factor of at most $0.25^{10}\approx10^{-6}$ ([Section 5.4](04-numerical-stability-and-initialization.ipynb)).

# %% [markdown]
# ## Summary
#
# - A linear model is monotone in every feature; it cannot compute XOR, and on images of ten classes of equal size together with their inverses its accuracy is at most 0.55 and its cross-entropy never below that of guessing.
# - Affine layers in a row collapse to one, of a rank limited by the narrowest; an elementwise nonlinear function between them prevents it.
# - One hidden layer approximates every continuous function on a compact set; the theorem is silent about the number of units, other inputs, and training.
# - A ReLU network is piecewise linear; in one dimension a hidden layer of $h$ units makes at most $h+1$ pieces, while in a deep network two more units can double the number of pieces.
# - Learning may need many more units than representing: two suffice for XOR, but most of our runs with two failed and none with sixteen.
# - Sigmoid and tanh saturate on both sides, ReLU, GELU and SiLU on one.

# %% [markdown]
# ## Exercises
#
# ### Exercise 5.1-1
#
# Show that adding linear layers to a linear network never enlarges the set of functions it can represent, and give widths for which it shrinks it.

# %% [markdown]
# #### Solution 5.1-1

# %% [markdown]
# By (5.1.4), applied repeatedly, any number of affine layers is one affine layer, so nothing is gained.
# The weight matrix of that layer is a product, and the rank of a product is at most the rank of each factor.
# So every hidden layer that is narrower than both input and output removes functions; if no hidden layer is narrower than $\min(d,q)$, every affine map can still be reached, for example with identity matrices that are filled up with zeros.

# %%
rng = torch.Generator().manual_seed(7)
for dims in ((6, 8, 7, 5), (6, 3, 8, 5), (6, 8, 1, 8, 5)):
    product = torch.eye(6, dtype=f64)
    for fan_in, fan_out in itertools.pairwise(dims):
        product = product @ torch.randn(fan_in, fan_out, generator=rng,
                                        dtype=f64)
    rank = torch.linalg.matrix_rank(product).item()
    print("widths", dims, " rank", rank)
    assert rank == min(dims)

# %% [markdown]
# ### Exercise 5.1-2
#
# Derive the derivatives of pReLU, with respect to $x$ and with respect to $\alpha$, and of Swish with a general $\beta$.

# %% [markdown]
# #### Solution 5.1-2

# %% [markdown]
# For pReLU the derivative with respect to $x$ is 1 for $x>0$ and $\alpha$ for $x<0$; with respect to $\alpha$ it is $\min(0,x)$.
# For Swish write $s=\operatorname{sigmoid}(\beta x)$.
# By the product rule and (5.1.13) with the inner derivative $\beta$ it is $s+\beta x\,s(1-s)$.

# %%
z = torch.linspace(-6, 6, 242, dtype=f64)
for beta in (0.5, 1.0, 3.0):
    s = torch.sigmoid(beta * z)
    close(gradient(lambda x: silu(x, beta), z),
          s + beta * z * s * (1 - s), **exact)
alpha = torch.full_like(z, 0.1)  # one for each entry of z
close(gradient(lambda x: F.leaky_relu(x, 0.1), z),
      torch.where(z > 0, 1.0, alpha), **exact)
close(gradient(lambda alpha: prelu(z, alpha), alpha),
      z.clamp(max=0), **exact)

# %% [markdown]
# ### Exercise 5.1-3
#
# Show that an MLP with ReLU computes a continuous function that is linear on pieces.
# For one input and one hidden layer of $h$ units, show that there are at most $h+1$ pieces.
# When are there fewer?

# %% [markdown]
# #### Solution 5.1-3

# %% [markdown]
# Affine maps and ReLU are continuous and linear on pieces, and both properties survive composition and addition.
#
# With one input, unit $i$ computes $\operatorname{ReLU}(w_ix+b_i)$, which bends only at $x=-b_i/w_i$.
# The output is a weighted sum of these functions and bends at most where one of them does: $h$ points divide the line into at most $h+1$ pieces.
# There are fewer if $w_i=0$, if the output weight of a unit is 0, or if several units bend at the same point.
#
# To count, we compute the slope by automatic differentiation at one point between each two candidates; slopes between the same neighbours are equal.

# %%
rng = torch.Generator().manual_seed(3)
h = 12
for _ in range(20):
    w1, b1, w2 = torch.randn(3, h, generator=rng, dtype=f64)

    def net(x):
        return torch.relu(x[:, None] * w1 + b1) @ w2  # (n,)

    bends = (-b1 / w1).sort().values  # (h,)
    edges = torch.cat((bends[:1] - 1, bends, bends[-1:] + 1))  # (h + 2,)
    thirds = torch.lerp(edges[:-1], edges[1:], 1 / 3)  # (h + 1,)
    slope = gradient(net, thirds)
    close(slope, gradient(net, torch.lerp(edges[:-1], edges[1:], 2 / 3)))
    assert 1 + (slope.diff().abs() > 1e-9).sum() == h + 1

# %%
w1[1], b1[1] = w1[0], b1[0]  # two units that bend together
merged = (-b1 / w1).sort().values
edges = torch.cat((merged[:1] - 1, merged, merged[-1:] + 1))
slope = gradient(net, torch.lerp(edges[:-1], edges[1:], 1 / 3))
assert 1 + (slope.diff().abs() > 1e-9).sum() <= h

# %% [markdown]
# ### Exercise 5.1-4
#
# You are given a trained network with one hidden layer of tanh units, but your library offers only the sigmoid.
# Find the weights of a sigmoid network that computes exactly the same function.

# %% [markdown]
# #### Solution 5.1-4

# %% [markdown]
# From $\tanh z=2\operatorname{sigmoid}(2z)-1$,
#
# $$\tanh\left(\mathbf{X}\mathbf{W}^{(1)}+\mathbf{b}^{(1)}\right)\mathbf{W}^{(2)}+\mathbf{b}^{(2)} = \operatorname{sigmoid}\left(\mathbf{X}\,2\mathbf{W}^{(1)}+2\mathbf{b}^{(1)}\right)2\mathbf{W}^{(2)}+\mathbf{b}^{(2)}-\mathbf{1}\mathbf{W}^{(2)}.$$
#
# The shapes are those of (5.1.5), and $\mathbf{1}\in\mathbb{R}^{1\times h}$ is a row of ones.
# So the two kinds of networks represent the same functions.
# They need not learn equally well, because the same random start means different functions.

# %%
rng = torch.Generator().manual_seed(8)
W1, b1, W2, b2 = (torch.randn(s, generator=rng, dtype=f64)
                  for s in ((6, 5), (1, 5), (5, 3), (1, 3)))
batch = torch.randn(9, 6, generator=rng, dtype=f64)
with_tanh = torch.tanh(batch @ W1 + b1) @ W2 + b2  # (9, 3)
H = torch.sigmoid(batch @ (2 * W1) + 2 * b1)  # (9, 5)
with_sigmoid = H @ (2 * W2) + b2 - W2.sum(dim=0, keepdim=True)
close(with_tanh, with_sigmoid, rtol=0, atol=1e-12)

# %% [markdown]
# ### Exercise 5.1-5
#
# Replace the elementwise activation function by one that acts on a whole minibatch, for instance one that subtracts from every hidden unit its mean over the minibatch before the ReLU.
# What breaks?

# %% [markdown]
# #### Solution 5.1-5

# %% [markdown]
# The prediction for an example now depends on the other examples of its minibatch: the same image may be a shirt in one batch and a coat in another.
# A minibatch of one example becomes meaningless, because the mean is then the example itself and the hidden layer is always 0.
# *Batch normalization* (Section 8.5) does act on minibatches, and for this reason replaces the statistics of the minibatch by fixed ones when it predicts.

# %%
torch.manual_seed(2)
first, second = nn.Linear(6, 5, dtype=f64), nn.Linear(5, 3, dtype=f64)


def centred(X):
    Z = first(X)  # (n, 5)
    return second(torch.relu(Z - Z.mean(dim=0))).detach()


def elementwise(X):
    return second(torch.relu(first(X))).detach()


example, others = batch[:1], batch[1:]
for function, depends in ((centred, True), (elementwise, False)):
    together = function(torch.cat((example, others)))[0]  # (3,)
    apart = function(torch.cat((example, 2 * others)))[0]
    assert ((together - apart).abs().max() > 1e-3) == depends
close(centred(batch[:1]), centred(batch[1:2]))  # alone, all are equal

# %% [markdown]
# ### Exercise 5.1-6
#
# Find an input at which the gradient of the sigmoid is exactly 0 in `float32`.
# Is there a negative one of the same size?

# %% [markdown]
# #### Solution 5.1-6

# %% [markdown]
# At $x=40$ the sigmoid is $1-4\cdot10^{-18}$.
# The nearest `float32` is 1, and (5.1.13) gives $1\cdot(1-1)=0$.
# This begins near $x=17$, where the distance of the sigmoid from 1, about $e^{-x}$, becomes too small for `float32` to resolve next to 1.
# On the negative side the value itself is small and $1-\operatorname{sigmoid}(x)=1$, so the gradient is about $e^x$, which `float32` holds with full precision down to about $x=-87$.
# So the two sides, equal in mathematics, differ in the computer; for learning both are useless.

# %%
x32 = torch.tensor([40.0, -40.0])
g32 = gradient(torch.sigmoid, x32)
print("gradients at 40 and -40:", g32.tolist())
assert g32[0] == 0 and g32[1] > 0
assert (gradient(torch.sigmoid, x32.double()) < 1e-17).all()
steps = torch.arange(0, 400) / 20.0  # 0, 0.05, ...
first_zero = steps[gradient(torch.sigmoid, steps) == 0].min().item()
assert 16 < first_zero < 17.5

# %% [markdown]
# ### Exercise 5.1-7
#
# At which losses do the failed runs with two hidden units end (Figure 5.1.5), and what do these values mean?
# Do more steps help?

# %% [markdown]
# #### Solution 5.1-7

# %% [markdown]
# The losses take very few values.
# A loss of $\frac12\log2$ means that two rows of the table are right and the other two get probability $\frac12$ each; $\log2$ means that all four get $\frac12$.
# With $\frac14(3\log3-2\log2)$ one row is right and three share one answer, the share of ones among them, $\frac13$ or $\frac23$.
# In each case the rows that share an answer get the best one that they can share, and there the gradient vanishes.
# With five times as many steps the losses come still closer to these values, and most of the 50 runs still fail.

# %%
levels = {"log 2 / 2": math.log(2) / 2, "log 2": math.log(2),
          "(3 log 3 - 2 log 2) / 4": (3 * math.log(3) - 2 * math.log(2)) / 4}
wanted = torch.tensor(list(levels.values()), dtype=f64)[:, None]
for steps in (300, 1500):
    solved, losses_2 = train_xor(2, steps)
    distance = (losses_2[~solved] - wanted).abs()  # (3, failed)
    counts = (distance < 0.002).sum(dim=1).tolist()
    print(f"{steps:4} steps: {solved.double().mean():.1f} solved;",
          *(f"{c / 50:.1f} at {name};" for name, c in zip(levels, counts)))
    assert 1 <= solved.sum() <= 25 and min(counts) > 0
    assert sum(counts) >= (~solved).sum() - 2
assert distance.amin(dim=0).max() < 0.002  # after 1500 steps: all

# %% tags=["hide-input"]
def row_loss(p):  # XOR with probabilities p of a 1 for the four rows
    return F.binary_cross_entropy(torch.tensor(p, dtype=f64), xor[:, 0])


for name, p in (("log 2 / 2", [0, 1, 1 / 2, 1 / 2]), ("log 2", [1 / 2] * 4),
                ("(3 log 3 - 2 log 2) / 4", [0, 2 / 3, 2 / 3, 2 / 3])):
    assert abs(row_loss(p).item() - levels[name]) < 1e-12

# %% [markdown]
# ## Sources
#
# - G. Cybenko, Approximation by superpositions of a sigmoidal function, 1989, [doi:10.1007/BF02551274](https://doi.org/10.1007/BF02551274); M. Leshno, V. Ya. Lin, A. Pinkus and S. Schocken, Multilayer feedforward networks with a nonpolynomial activation function can approximate any function, 1993, [doi:10.1016/S0893-6080(05)80131-5](https://doi.org/10.1016/S0893-6080%2805%2980131-5).
# - M. Telgarsky, Benefits of depth in neural networks, 2016, [arXiv:1602.04485](https://arxiv.org/abs/1602.04485): the tent map and depth; G. Montúfar, R. Pascanu, K. Cho and Y. Bengio, On the number of linear regions of deep neural networks, 2014, [arXiv:1402.1869](https://arxiv.org/abs/1402.1869).
# - M. Minsky and S. Papert, *Perceptrons*, 1969: what linear thresholds cannot do.
# - W. S. McCulloch and W. Pitts, A logical calculus of the ideas immanent in nervous activity, 1943, [doi:10.1007/BF02478259](https://doi.org/10.1007/BF02478259).
# - V. Nair and G. E. Hinton, Rectified linear units improve restricted Boltzmann machines, 2010; K. He, X. Zhang, S. Ren and J. Sun, Delving deep into rectifiers, 2015, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): pReLU.
# - Y. N. Dauphin, A. Fan, M. Auli and D. Grangier, Language modeling with gated convolutional networks, 2017, [arXiv:1612.08083](https://arxiv.org/abs/1612.08083): gated linear units; N. Shazeer, GLU variants improve Transformer, 2020, [arXiv:2002.05202](https://arxiv.org/abs/2002.05202): SwiGLU and its width.
# - D. Hendrycks and K. Gimpel, Gaussian error linear units, 2016, [arXiv:1606.08415](https://arxiv.org/abs/1606.08415); P. Ramachandran, B. Zoph and Q. V. Le, Searching for activation functions, 2017, [arXiv:1710.05941](https://arxiv.org/abs/1710.05941): Swish.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics and the thought experiment of inverted images.
