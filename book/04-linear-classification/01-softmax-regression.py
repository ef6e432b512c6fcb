# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#       smoke:
#         train_size: 3000
#         val_size: 1000
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
# # 4.1 Softmax regression
#
# Is this a cat, a chicken or a dog?
# The answer is a category and not a number, and the honest answer is often a degree of belief in each category.
# This section turns the linear scores of Chapter 3 into probabilities, derives the loss that goes with them, and shows that this loss is the price of a wrong belief, paid in bits.

# %% [markdown]
# **You will**
#
# - encode classes without a false order, and measure what goes wrong otherwise;
# - derive softmax, cross-entropy and its gradient from maximum likelihood, and say why the loss is convex;
# - explain why squared error on probabilities fails exactly where the model is most wrong;
# - compute entropy, cross-entropy and Kullback-Leibler divergence, and verify them with codes of whole bits.
#
# **Cost**: less than half a minute on a CPU, no GPU needed; a download of 31 MB, once.

# %%
import heapq
import itertools
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST

d2l.use_style()
f64 = torch.float64  # lets us check identities to twelve digits
animals = ["cat", "chicken", "dog"]

# %% tags=["parameters"]
train_size = 10_000  # images to which least squares is fitted
val_size = 2_000  # test images on which it is judged

# %% [markdown]
# ## Classification
#
# The running example is as small as an image can be: $2\times2$ grey values, so each example has four features $x_1,\dots,x_4$.
# It shows one of three animals.
#
# How should the label be written as numbers?
# The obvious codes are cat = 1, chicken = 2, dog = 3, and regression could then be used as it is.
# But these integers make claims that nobody intends: that a chicken lies between a cat and a dog, and that a cat is nearer to a chicken than to a dog.
# Squared loss takes the claims at face value.
# Show it an image that is equally often a cat (1) and a dog (3), and its best answer is the mean, 2: a chicken.
#
# Integer codes are better suited to *ordinal* labels, whose classes have a natural order, such as age groups, though equal steps remain an assumption; predicting those is called *ordinal regression*.
#
# Without an order, each class gets a component of its own.
# The *one-hot encoding* of one of $q$ classes is a vector with $q$ components, of which one is 1 and the others are 0:
#
# $$\mathbf{y} \in \{(1,0,0),\ (0,1,0),\ (0,0,1)\}. \tag{4.1.1}$$
#
# Here $\mathbf{y}\in\mathbb{R}^3$ is the label of one image, in the order cat, chicken, dog.
# Any two classes are now equally far apart, so no order is left.

# %% tags=["export"]
def one_hot(y, q):
    """Integer labels of shape (...) as indicator vectors (..., q)."""
    if ((y < 0) | (y >= q)).any():
        raise ValueError(f"labels lie between {y.min().item()} and "
                         f"{y.max().item()}; they must be 0 to {q - 1}.")
    return (y.unsqueeze(-1) == torch.arange(q, device=y.device)).float()

# %%
Y = one_hot(torch.tensor([0, 1, 2, 2]), 3)  # (4,) -> (4, 3)
print(Y)
assert torch.equal(Y, F.one_hot(torch.tensor([0, 1, 2, 2]), 3).float())
for bad in (-1, 3):  # three classes have the labels 0, 1, 2
    try:
        one_hot(torch.tensor([0, bad]), 3)
        raise AssertionError(f"the label {bad} was accepted")
    except ValueError as error:
        print(error)
apart = torch.pdist(torch.eye(3))  # distances of the three pairs
torch.testing.assert_close(apart, torch.full((3,), 2**0.5))

# %% [markdown]
# PyTorch's `F.one_hot` does the same but returns integers; ours returns the floats that a loss needs, and names labels that are out of range.
#
# If several labels may be true at once, such as *outdoors*, *dog* and *snow* for a photograph, the task is called *multi-label* classification.
# It asks $q$ separate yes-or-no questions.
# This section is about exactly one class per example.

# %% [markdown]
# ### Linear model
#
# Three classes get three scores, each an affine function of the features:
#
# $$o_k = \sum_{j=1}^4 w_{kj}x_j + b_k,\quad k=1,2,3, \qquad\text{or}\qquad \mathbf{o} = \mathbf{W}\mathbf{x}+\mathbf{b}. \tag{4.1.2}$$
#
# $\mathbf{x}\in\mathbb{R}^4$ holds the features, $\mathbf{W}\in\mathbb{R}^{3\times4}$ the 12 weights, one row per class, $\mathbf{b}\in\mathbb{R}^3$ the biases, and $\mathbf{o}\in\mathbb{R}^3$ the scores.
# Scores that are meant to become probabilities are called *logits*.
# With $d$ features and $q$ classes there are $dq$ weights and $q$ biases, and computing the scores takes $dq$ multiplications, so memory and time are $O(dq)$.
#
# ![Four input circles x1 to x4, next to them the two by two image that they come from, each joined by an arrow to each of three output circles o1, o2, o3 labelled cat, chicken and dog.](img/softmax-network.svg)
#
# **Figure 4.1.1.** The model as a network: a single layer, *fully connected*: every score depends on every pixel.
# Each arrow is one weight; the biases are not drawn.

# %%
x = torch.tensor([0.9, 0.1, 0.8, 0.3])  # (4,), the four pixels
W = torch.tensor([[0.5, -1.0, 0.2, 0.4],
                  [-0.3, 0.8, 0.1, -0.6],
                  [1.2, 0.3, -0.2, 0.7]])  # (3, 4), one row per class
b = torch.tensor([0.1, 0.0, -0.2])  # (3,)
o = W @ x + b  # (3, 4) @ (4,) + (3,) -> (3,)
for name, score in zip(animals, o.tolist()):
    print(f"{name:8}{score:6.2f}")

# %% [markdown]
# The dog has the highest score, but what does a score mean?

# %% [markdown]
# ### Least squares gives no probabilities
#
# We would like to read the score of a class as its probability.
# Chapter 3 offers a way to try, with pictures of ten kinds of clothing: fit the one-hot labels by least squares, one column of targets per class.
# Here each image of Fashion-MNIST ([Section 4.2](02-image-classification-dataset.ipynb)) is a row of 784 grey values between 0 and 1, followed by a 1 for the bias.

# %%
data = FashionMNIST(train_size=train_size, val_size=val_size)


def with_ones(images):
    """Images (n, 1, 28, 28) as rows of pixels and a 1, (n, 785)."""
    return F.pad(images.flatten(1).double(), (0, 1), value=1.0)


# gelsd copes with pixels that are black in all images; the default, gelsy,
# may not (https://github.com/pytorch/pytorch/issues/187411)
targets = one_hot(data.y_train, 10).double()  # (n, 10)
weights = torch.linalg.lstsq(with_ones(data.X_train), targets,
                             driver="gelsd").solution  # (785, 10)
scores = with_ones(data.X_val) @ weights  # (n_val, 10)

# %% [markdown]
# Least squares is linear in its targets.
# The integer codes $0,\dots,9$ are a linear combination of the one-hot columns, $\sum_jj\,y_j$, so the fit to the codes is the same combination of the ten outputs, and costs no second fit.
# Nor do other orders of the classes.
# We round each fit to the nearest code.

# %%
def accuracy_of(classes):
    return (classes == data.y_val).double().mean().item()


def code_accuracy(scores, code):
    """Class k is coded as code[k]; round the fit to the nearest code."""
    fit = (scores @ code.double()).round().clamp(0, 9).long()
    return accuracy_of(code.argsort()[fit])


rng = torch.Generator().manual_seed(40)
orders = [torch.randperm(10, generator=rng) for _ in range(200)]
one_hot_accuracy = accuracy_of(scores.argmax(dim=1))
by_code = code_accuracy(scores, torch.arange(10))
best_order = max(code_accuracy(scores, code) for code in orders)
outside = ((scores < 0) | (scores > 1)).double().mean().item()
print(f"correct with one-hot targets: {one_hot_accuracy:.1%}")
print(f"correct with integer codes:   {by_code:.1%}")
print(f"best of 200 other orders:     {best_order:.1%}")
print(f"outputs outside [0, 1]:       {outside:.1%}")

# %% [markdown]
# One-hot targets beat integer codes by far, on the same features and with the same method.
# The order is not merely unlucky: none of 200 others comes near.
# Ten outputs can each have a direction of their own among the pixels, whereas a single number must pass through a coat (4) on its way from a dress (3) to a sandal (5).
#
# It is often said that the outputs of this method do not sum to 1.
# With a bias they do.
# By linearity the sum of the $q$ outputs is the least-squares fit to the sum of the $q$ target columns; that sum is 1 for every example, and the bias alone fits it without error.
#
# The real defect is the last line: a large share of the outputs is negative or exceeds 1.
# These numbers are not probabilities, however useful their order may be.

# %%
# check 4.1-C9: least squares sums to 1, with many outputs outside [0, 1]
one = torch.ones(len(scores), dtype=f64)
torch.testing.assert_close(scores.sum(dim=1), one, rtol=0, atol=1e-8)
assert outside > 0.3  # real images: 0.38 for 10 000, 0.37 for all
assert one_hot_accuracy > max(by_code, best_order) + 0.2
perfect = one_hot(data.y_val, 10).double()  # every order decodes these
assert all(code_accuracy(perfect, code) == 1 for code in orders)
assert len({tuple(code.tolist()) for code in orders}) == 200
no_bias = torch.linalg.lstsq(data.X_train[:2000].flatten(1).double(),
                             targets[:2000], driver="gelsd").solution
sums = data.X_val.flatten(1).double() @ no_bias.sum(dim=1)  # (n_val,)
assert (sums - 1).abs().max() > 1e-3  # it is the bias that does it
if data.source == "real" and train_size >= 10_000:
    assert 0.80 < one_hot_accuracy < 0.83
if data.source == "real" and (train_size, val_size) == (10_000, 2_000):
    assert abs(outside - 0.381) < 0.002
    assert abs(one_hot_accuracy - 0.817) < 0.002

# %% tags=["hide-input"]
worst = scores[scores.min(dim=1).values.argmin()]  # (10,)
_, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
for low, high, color in ((-1, 0, "C1"), (0, 1, "C0"), (1, 2, "C1")):
    left.hist(scores.flatten(), bins=20, range=(low, high), color=color)
left.set(xlabel="output", ylabel="number of outputs", title="all images")
right.bar(range(10), worst, color=["C1" if not 0 <= v <= 1 else "C0"
                                   for v in worst.tolist()])
right.axhline(0, color="black", lw=0.8)
right.axhline(1, color="black", lw=0.8, ls=":")
right.set_xticks(range(10), data.text_labels(range(10)), rotation=60,
                 ha="right")
right.set(ylabel="output", title="one image")
right.grid(axis="x", visible=False)
d2l.describe((left, right), """Left: histogram of the outputs of least
    squares, most of them near 0, many of them negative and some above 1.
    Right: the ten outputs of one image, one of them far below 0.""")

# %% [markdown]
# **Figure 4.1.2.** Outputs of least squares on test images; orange lies outside [0, 1].
# Left all of them, right those of the image with the most negative one: they sum to 1, but they are not probabilities.

# %% [markdown]
# ### The softmax
#
# Scores may be any real numbers, so we need a map from scores to probabilities.
# It should have two properties: no probability is negative, and a class with a higher score is more probable.
# The exponential function has both.
# So let $P(y=i)$ be proportional to $\exp o_i$, and divide by the sum to make the probabilities add up to 1, which is the *softmax*:
#
# $$\hat y_i = \operatorname{softmax}(\mathbf{o})_i = \frac{\exp o_i}{\sum_{j=1}^q\exp o_j}. \tag{4.1.3}$$
#
# $\mathbf{o}\in\mathbb{R}^q$ holds the scores, and $\hat{\mathbf{y}}\in\mathbb{R}^q$ the probabilities of the $q$ classes according to the model.
# For $\mathbf{o}=(0,\log2,0)$ the exponentials are 1, 2 and 1, and the probabilities $\frac14,\frac12,\frac14$.

# %% tags=["export"]
def softmax(o):
    """Probabilities from scores (..., q), along the last axis.

    The formula as it stands; it overflows for scores beyond about 88,
    which Section 4.5 repairs.
    """
    weights = torch.exp(o)
    return weights / weights.sum(dim=-1, keepdim=True)

# %%
for name, score, p in zip(animals, o.tolist(), softmax(o).tolist()):
    print(f"{name:8} score {score:5.2f}   probability {p:.2f}")

# %% [markdown]
# The largest score has the largest probability, $\operatorname{argmax}_j\hat y_j=\operatorname{argmax}_jo_j$, since $\exp$ increases and all are divided by the same number, so a program that needs only the predicted class may skip the softmax.
# Adding the same constant $c$ to all scores changes nothing, since $e^c$ cancels.
# So one score could be fixed at 0, and $q-1$ outputs would do; we keep all $q$ to treat all classes alike.
#
# With $q=2$ and the first score fixed at 0, the second class gets
# $\frac{e^o}{1+e^o}=\frac1{1+e^{-o}}$, the *sigmoid* function.
# Softmax regression with two classes is *logistic regression*.

# %%
# check 4.1-C1: values, row sums, shift by a constant, order
rows = torch.tensor([[1.0, 2, 3], [-4, 0, 4], [0.5, 0.5, 0.2]], dtype=f64)
p = softmax(rows)  # (3, 3), each row on its own
expected = torch.tensor([0.0900, 0.2447, 0.6652], dtype=f64)
torch.testing.assert_close(p[0], expected, rtol=0, atol=5e-5)
torch.testing.assert_close(p.sum(dim=1), torch.ones(3, dtype=f64))
torch.testing.assert_close(softmax(rows + 10), p)
assert torch.equal(p.argsort(dim=1, stable=True),
                   rows.argsort(dim=1, stable=True))
torch.testing.assert_close(p, torch.softmax(rows, dim=1))

# %%
# check 4.1-C2: 15 parameters; two classes give the sigmoid
assert W.numel() + b.numel() == 15
score = torch.linspace(-5, 5, 11, dtype=f64)
pair = torch.stack((torch.zeros_like(score), score), dim=1)  # (11, 2)
torch.testing.assert_close(softmax(pair)[:, 1], torch.sigmoid(score))

# %% [markdown]
# ### Temperature
#
# The formula is older than machine learning.
# In Boltzmann's and Gibbs' statistical physics a system in contact with a heat bath is in a state of energy $E$ with a probability proportional to $\exp(-E/kT)$, where $T$ is the temperature and $k$ Boltzmann's constant.
# A score plays the part of $-E/k$, and the temperature has stayed as a parameter of the softmax:
#
# $$\operatorname{softmax}(\mathbf{o}/T)_i = \frac{\exp(o_i/T)}{\sum_j\exp(o_j/T)},\qquad T>0. \tag{4.1.4}$$
#
# Here $T$ is one number for all classes.
# A low temperature exaggerates differences between scores, a high one levels them; the order of the classes never changes.

# %% tags=["hide-input"]
def draw_bars(ax, o, T):
    """Bars of softmax(o / T) with their values."""
    p = softmax(torch.tensor(o, dtype=f64) / T).tolist()
    ax.bar(animals, p, color=["C0", "C1", "C2"], width=0.7)
    for i, value in enumerate(p):
        ax.text(i, value + 0.02, f"{value:.2f}", ha="center")
    ax.set(ylim=(0, 1.1), title=f"T = {T:g}")
    ax.grid(axis="x", visible=False)


_, axes = plt.subplots(1, 4, figsize=(8.4, 2.4), sharey=True)
for ax, T in zip(axes, (0.25, 1.0, 2.0, 10.0)):
    draw_bars(ax, [1.0, 2.0, 3.0], T)
axes[0].set_ylabel("probability")
d2l.describe(axes, """Softmax of the scores 1, 2, 3 at four temperatures.
    At 0.25 the third class has nearly all probability; at 10 the three
    bars are nearly equal; the order is always the same.""")

# %% [markdown]
# **Figure 4.1.3.** The scores 1, 2, 3 at four temperatures: cold is decisive, hot is undecided.

# %% [markdown]
# In the next figure the score of the dog can be moved as well.
# Raising one score lowers the probabilities of all other classes.

# %% tags=["hide-input"]
def draw(fig, T, dog):
    ax = fig.subplots()
    draw_bars(ax, [1.0, 2.0, dog], T)
    ax.set(ylabel="probability", title=f"scores 1, 2, {dog:g}; T = {T:g}")


d2l.sliders(draw, """Three bars, the probabilities of cat, chicken and dog
    for scores 1, 2 and an adjustable third, at an adjustable
    temperature.""", figsize=(4.2, 2.6),
    T=[0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 20.0],
    dog=[1.0, 2.0, 3.0, 4.0])

# %% [markdown]
# **Figure 4.1.4.** Softmax with temperature.
# Set the dog's score equal to the chicken's and lower the temperature: the two keep sharing the probability.

# %% [markdown]
# ### Vectorization
#
# A minibatch of $n$ examples is a matrix $\mathbf{X}\in\mathbb{R}^{n\times d}$ with one example in each row.
# All scores together are one product of matrices:
#
# $$\mathbf{O} = \mathbf{X}\mathbf{W}+\mathbf{b},\qquad \hat{\mathbf{Y}} = \operatorname{softmax}(\mathbf{O}). \tag{4.1.5}$$
#
# Now $\mathbf{W}\in\mathbb{R}^{d\times q}$ has one *column* per class, the transpose of the matrix in (4.1.2), and $\mathbf{b}\in\mathbb{R}^{1\times q}$ is added to every row.
# $\mathbf{O}$ and $\hat{\mathbf{Y}}$ have shape $n\times q$, and the softmax acts on each row separately.

# %%
rng = torch.Generator().manual_seed(42)
n, d, q = 6, 4, 3
X = torch.randn(n, d, generator=rng, dtype=f64)
W = torch.randn(d, q, generator=rng, dtype=f64)
b = torch.randn(1, q, generator=rng, dtype=f64)
O = X @ W + b  # (6, 4) @ (4, 3) + (1, 3) -> (6, 3)
Y_hat = softmax(O)  # (6, 3), rows sum to 1
by_row = torch.stack([softmax(W.mT @ row + b[0]) for row in X])
torch.testing.assert_close(Y_hat, by_row)

# %% [markdown]
# ## Loss function
#
# The model gives probabilities, and the data show which labels occurred.
# As for least squares in [Section 3.1](../03-linear-regression/01-linear-regression.ipynb), maximum likelihood supplies the loss that connects them.
#
# ### Log-likelihood
#
# Let the labels be independent given the features.
# The probability that the model assigns to all labels that were observed is then a product:
#
# $$P(\mathbf{Y}\mid\mathbf{X}) = \prod_{i=1}^nP(\mathbf{y}^{(i)}\mid\mathbf{x}^{(i)}). \tag{4.1.6}$$
#
# $\mathbf{X}\in\mathbb{R}^{n\times d}$ holds the features, $\mathbf{Y}\in\mathbb{R}^{n\times q}$ the one-hot labels, and row $i$ of each is the pair $\mathbf{x}^{(i)},\mathbf{y}^{(i)}$.
# The factor $P(\mathbf{y}^{(i)}\mid\mathbf{x}^{(i)})$ is the component of $\hat{\mathbf{y}}^{(i)}$ that belongs to the true class.
# Maximizing the product is minimizing its negative logarithm, a sum with one loss per example:
#
# $$-\log P(\mathbf{Y}\mid\mathbf{X}) = \sum_{i=1}^nl(\mathbf{y}^{(i)},\hat{\mathbf{y}}^{(i)}),\qquad l(\mathbf{y},\hat{\mathbf{y}}) = -\sum_{j=1}^qy_j\log\hat y_j. \tag{4.1.7}$$
#
# The loss $l$ of one example, with $\mathbf{y},\hat{\mathbf{y}}\in\mathbb{R}^q$, is called *cross-entropy loss*.
# Since $\mathbf{y}$ is one-hot, only one term is not zero: minus the logarithm of the probability of the true class.
#
# A probability is at most 1, so $l\ge0$.
# The loss is 0 only if the true class has probability 1, and no finite scores reach that, since every $\exp o_j$ is positive.
# At the other end, a model that rules out what then happens pays $-\log0=\infty$.
# With the truth $(0,0,1)$, the prediction $(0.1,0.2,0.7)$ costs $-\log0.7=0.357$ and $(0.7,0.2,0.1)$ costs $-\log0.1=2.303$.

# %%
truth = torch.tensor([0.0, 0.0, 1.0], dtype=f64)
for guess in ([0.1, 0.2, 0.7], [0.7, 0.2, 0.1]):
    y_hat = torch.tensor(guess, dtype=f64)
    print(guess, f"costs {-(truth * y_hat.log()).sum().item():.4f}")

# %% [markdown]
# ### Softmax and cross-entropy together
#
# Insert (4.1.3) into (4.1.7), split the logarithm of the quotient, and use $\sum_jy_j=1$:
#
# $$\begin{aligned} l(\mathbf{y},\hat{\mathbf{y}}) &= -\sum_jy_j\log\frac{\exp o_j}{\sum_k\exp o_k}\\ &= \sum_jy_j\log\sum_k\exp o_k-\sum_jy_jo_j\\ &= \log\sum_k\exp o_k-\sum_jy_jo_j. \end{aligned} \tag{4.1.8}$$
#
# $\mathbf{o}\in\mathbb{R}^q$ are the scores, and $j$ and $k$ run over the $q$ classes.
# The first term, *log-sum-exp*, is a smooth version of the largest score (Exercise 4.1-4); the second is the score of the true class.
# So the loss is roughly the amount by which the true class's score falls short of the largest.
# $\hat{\mathbf{y}}$ has disappeared: the loss can be computed from the scores alone, and [Section 4.5](05-softmax-regression-concise.ipynb) shows why it should be.

# %% tags=["export"]
def cross_entropy_from_logits(o, y):
    """Loss (...) of scores (..., q) for labels y (..., q).

    Each label is one-hot or any other distribution over q classes.
    """
    if o.shape != y.shape:
        raise ValueError(f"scores {tuple(o.shape)} and labels "
                         f"{tuple(y.shape)} must have the same shape; "
                         "encode integer labels with one_hot.")
    return torch.logsumexp(o, dim=-1) - (y * o).sum(dim=-1)

# %% [markdown]
# The derivative of $\log\sum_k\exp o_k$ with respect to $o_j$ is $\exp o_j/\sum_k\exp o_k$, the softmax again.
# Hence
#
# $$\frac{\partial l}{\partial o_j} = \operatorname{softmax}(\mathbf{o})_j-y_j = \hat y_j-y_j, \tag{4.1.9}$$
#
# one number per class: the model's probability minus what happened.
# It is the same error signal as in regression, where the derivative of $\frac12(\hat y-y)^2$ is $\hat y-y$.
# In every *exponential family* the gradient of the negative log-likelihood with respect to the natural parameters is mean minus observation.
#
# For a minibatch with the loss $L=\frac1n\sum_il(\mathbf{y}^{(i)},\hat{\mathbf{y}}^{(i)})$ the chain rule through (4.1.5) gives the gradient of the weights:
#
# $$\partial_{\mathbf{W}}L = \frac1n\mathbf{X}^\top(\hat{\mathbf{Y}}-\mathbf{Y}). \tag{4.1.10}$$
#
# Its shape is that of $\mathbf{W}$, $d\times q$.
# For the scores $(1,2,3)$ and the truth dog the gradient is $(0.09,0.24,-0.33)$; its entries sum to 0.

# %%
# check 4.1-C3: autograd, formula and F.cross_entropy agree
labels = torch.tensor([0, 2, 1, 1, 0, 2])
Y = one_hot(labels, q).to(f64)  # (6, 3)
W.requires_grad_()
O = X @ W + b
O.retain_grad()
loss = F.cross_entropy(O, labels)
loss.backward()
exact = {"rtol": 0, "atol": 1e-12}
own = cross_entropy_from_logits(O, Y).mean()
torch.testing.assert_close(own, loss, **exact)
torch.testing.assert_close(O.grad, (Y_hat - Y) / n, **exact)
torch.testing.assert_close(O.grad.sum(dim=1), torch.zeros(n, dtype=f64),
                           **exact)
torch.testing.assert_close(W.grad, X.mT @ (Y_hat - Y) / n, **exact)
try:
    cross_entropy_from_logits(O, labels)
    raise AssertionError("integer labels were accepted")
except ValueError as error:
    print(error)

# %% [markdown]
# Differentiate once more, using $\partial\hat y_j/\partial o_k=\hat y_j(\delta_{jk}-\hat y_k)$, where $\delta_{jk}$ is 1 for $j=k$ and 0 otherwise:
#
# $$\mathbf{H} = \operatorname{diag}(\hat{\mathbf{y}})-\hat{\mathbf{y}}\hat{\mathbf{y}}^\top\in\mathbb{R}^{q\times q}. \tag{4.1.11}$$
#
# $\mathbf{H}$ holds the second derivatives of $l$ with respect to the scores.
# It is the covariance matrix of a one-hot label drawn from $\hat{\mathbf{y}}$, since $E[y_jy_k]$ is $\hat y_j$ for $j=k$ and 0 otherwise.
# A covariance matrix is positive semidefinite, for $\mathbf{v}^\top\mathbf{H}\mathbf{v}$ is the variance of $\mathbf{v}^\top\mathbf{y}$, which is not negative for any direction $\mathbf{v}\in\mathbb{R}^q$.
# So the loss is convex in the scores, and since the scores are affine in the parameters, it is convex in $\mathbf{W}$ and $\mathbf{b}$.
# Every local minimum is therefore a global one.
# The variance is 0 only for $\mathbf{v}\propto(1,\dots,1)$, the common shift that softmax ignores.

# %%
# check 4.1-C4: Hessian = covariance; eigenvalue 0 for a common shift
o = torch.tensor([1.0, 2.0, 3.0], dtype=f64)
hessian = torch.autograd.functional.hessian(
    lambda o: cross_entropy_from_logits(o, truth), o)  # (3, 3)
y_hat = softmax(o)
torch.testing.assert_close(
    hessian, torch.diag(y_hat) - torch.outer(y_hat, y_hat), **exact)
eigenvalues = torch.linalg.eigvalsh(hessian)  # ascending
print("eigenvalues:", [round(abs(v), 4) for v in eigenvalues.tolist()])
assert abs(eigenvalues[0]) < 1e-12 and eigenvalues[1] > 0.01
assert (hessian @ torch.ones(3, dtype=f64)).abs().max() < 1e-12

# %% [markdown]
# ### Why not the squared error?
#
# The squared distance $\sum_j(\hat y_j-y_j)^2$ between the probabilities and the one-hot label looks like a reasonable loss too.
# But it is at most 2, so as a function of an ever worse score it must flatten out.
# Take two classes with scores $(o_1,0)$, and let the second class be the true one.
# The larger $o_1$, the more confident the wrong answer.

# %%
o1 = torch.linspace(-8, 10, 181, dtype=f64, requires_grad=True)  # (181,)
logits = torch.stack((o1, torch.zeros_like(o1)), dim=1)  # (181, 2)
second = torch.tensor([0.0, 1.0], dtype=f64).expand_as(logits)
losses = {"cross-entropy": cross_entropy_from_logits(logits, second),
          "squared error": ((softmax(logits) - second) ** 2).sum(dim=1)}
slopes = {name: torch.autograd.grad(loss.sum(), o1, retain_graph=True)[0]
          for name, loss in losses.items()}
for name, slope in slopes.items():
    print(f"{name}: slope {slope[-1].item():.2g} at o1 = 10")
assert abs(slopes["cross-entropy"][-1] - 0.99995) < 5e-6
assert abs(slopes["squared error"][-1] - 1.8e-4) < 5e-6

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 2.9))
for ax, curves, what in zip(axes, (losses, slopes), ("loss", "gradient")):
    d2l.plot(o1, [v.detach() for v in curves.values()], list(curves),
             xlabel="score $o_1$ of the wrong class", ylabel=what, ax=ax)
    ax.axvspan(4, 10, color="C1", alpha=0.1, lw=0)
axes[1].get_legend().remove()
axes[0].text(7, 0.1, "confidently\nwrong", ha="center", va="bottom")
d2l.describe(axes, """Left: cross-entropy grows linearly with the score of
    the wrong class, squared error levels off at 2. Right: the gradient of
    cross-entropy rises to 1, that of squared error has a hump near 0.7
    and falls back to 0.""")

# %% [markdown]
# **Figure 4.1.5.** Left the loss, right its gradient, for two classes of which the second is true.
# Where the model is confidently wrong (shaded), squared error is flat: the most confident mistakes have almost no gradient.

# %% [markdown]
# With cross-entropy the gradient of a confidently wrong example comes close to 1, its upper limit.
# With squared error the factor $\hat y_1(1-\hat y_1)$ of the softmax remains in the gradient, and it vanishes for confident answers, right or wrong.
# The logarithm in cross-entropy cancels just this factor.

# %% [markdown]
# ### Labels that are distributions
#
# Nothing in (4.1.8) used that $\mathbf{y}$ is one-hot; $\sum_jy_j=1$ was enough.
# For $\mathbf{y}=(0.1,0.2,0.7)$ the same formula gives the loss to be expected if the label is drawn from this distribution.
# Such *soft labels* arise when several people label the same picture, when a small model learns from the probabilities of a large one (*distillation*), and in *label smoothing*, which takes a share $\epsilon$ of the probability from the true class and spreads it evenly over all $q$ classes, $(1-\epsilon)\,\mathbf{y}+\epsilon/q$; Exercise 4.5-7 measures what smoothing does to the probabilities of a trained model.
# The prediction that minimizes the loss is the label distribution itself, and the smallest loss is no longer 0.
#
# Multi-label problems are not covered by this, although some texts say so: the probabilities of labels that do not exclude each other need not sum to 1.
# Such problems take one sigmoid and one two-class cross-entropy per label.

# %%
soft = torch.tensor([0.1, 0.2, 0.7], dtype=f64)
o = torch.zeros(3, dtype=f64, requires_grad=True)
for step in range(300):  # gradient descent on the scores
    loss = cross_entropy_from_logits(o, soft)
    gradient, = torch.autograd.grad(loss, o)  # softmax(o) - soft
    o = (o - gradient).detach().requires_grad_()
print("prediction:", [round(v, 4) for v in softmax(o).tolist()])
print(f"loss: {loss.item():.4f}")

# %%
# check 4.1-C6: soft labels, label smoothing, smallest loss = entropy
rng = torch.Generator().manual_seed(43)
P = softmax(torch.randn(n, q, generator=rng, dtype=f64))  # (6, 3)
scores6 = torch.randn(n, q, generator=rng, dtype=f64)
torch.testing.assert_close(cross_entropy_from_logits(scores6, P).mean(),
                           F.cross_entropy(scores6, P), **exact)
smoothed = cross_entropy_from_logits(scores6, 0.9 * Y + 0.1 / q).mean()
torch.testing.assert_close(
    smoothed, F.cross_entropy(scores6, labels, label_smoothing=0.1), **exact)
assert abs(loss.item() - 0.8018) < 5e-5
torch.testing.assert_close(softmax(o.detach()), soft)
torch.testing.assert_close(loss.detach(), torch.special.entr(soft).sum())

# %% [markdown]
# What remains is the name of the loss, and the number 0.8018, the *entropy* of the label distribution.
# Both come from the cost of messages.

# %% [markdown]
# ## Information theory
#
# *Information theory* studies how information, or data, is encoded, decoded, transmitted and manipulated, and at what cost.
#
# ### Surprisal and entropy
#
# Compression and prediction belong together.
# What is easy to predict can be compressed well, and what surprises must be spelled out.
#
# If an observer believes that event $j$ has probability $P(j)$, its occurrence has the *surprisal*
# $\log\frac1{P(j)}=-\log P(j)$.
# A certain event has surprisal 0; one with $P(j)=0.01$ has $\log100\approx4.605$; an event held impossible, such as a die showing 7, would be infinitely surprising.
# Surprisals of independent events add up, since probabilities multiply.

# %% tags=["hide-input"]
P = torch.linspace(0.001, 1, 500, dtype=f64)
ax = d2l.plot(P, -P.log(), xlabel="probability $P(j)$", ylabel="surprisal "
              "(nats)", ylim=(-0.25, 7))
for p, name in ((1.0, "certain"), (0.5, "coin"), (1 / 6, "die"),
                (0.01, "1 in 100")):
    ax.plot(p, -math.log(p), "o", color="C1")
    ax.annotate(f"{name}: {abs(math.log(p)):.2f}", (p, -math.log(p)),
                (6, 6) if p < 1 else (4, 14), textcoords="offset points",
                ha="left" if p < 1 else "right")
d2l.describe(ax, """The curve of minus log P over P from 0 to 1. It falls
    from infinity at 0 to 0 at 1; four events are marked, from 1 in 100 to
    certain.""")

# %% [markdown]
# **Figure 4.1.6.** Surprisal is 0 for a certain event and grows without limit as the probability goes to 0.

# %% [markdown]
# The *entropy* of a distribution is the surprisal to be expected by someone who knows it:
#
# $$H[P] = \sum_j-P(j)\log P(j). \tag{4.1.12}$$
#
# $j$ runs over the possible outcomes; a term with $P(j)=0$ counts as 0, the limit of $-p\log p$ for $p\to0$.
# Shannon's source coding theorem (1948) gives it an operational meaning: on average, at least $H[P]$ *nats* are needed to encode a draw from $P$.
# A nat is the unit that goes with the natural logarithm; with $\log_2$ the unit is the *bit*, and one nat is $1/\log2\approx1.44$ bit.
#
# Entropy is 0 if one outcome is certain.
# It is largest, $\log q$, if all $q$ outcomes are equally probable.

# %% tags=["export"]
def entropy(p):
    """Entropy in nats of distributions p (..., q), shape (...)."""
    return torch.special.entr(p).sum(dim=-1)  # entr(p) = -p log p; 0 at 0

# %%
for name, p in (("certain", [1.0, 0.0, 0.0]), ("soft label", [0.1, 0.2, 0.7]),
                ("uniform", [1 / 3, 1 / 3, 1 / 3])):
    H = entropy(torch.tensor(p, dtype=f64)).item()
    print(f"{name:11}{H:.4f} nats = {H / math.log(2):.4f} bits")

# %% [markdown]
# Temperature is a knob for entropy.

# %%
# check 4.1-C8: entropy of softmax(o / T) grows with T, towards log 3
o = torch.tensor([1.0, 2.0, 3.0], dtype=f64)
T = torch.logspace(-1, 3, 41, dtype=f64)[:, None]  # (41, 1)
H = entropy(softmax(o / T))  # (41,)
assert (H.diff() > 0).all()
assert 0 < math.log(3) - H[-1] < 1e-6
for temperature, value in ((0.5, 0.441), (1.0, 0.832), (2.0, 1.020)):
    H = entropy(softmax(o / temperature)).item()
    print(f"T = {temperature}: entropy {H:.3f}")
    assert abs(H - value) < 5e-4

# %% [markdown]
# ### Codes
#
# A *binary code* gives each symbol a word of zeros and ones.
# It is a *prefix code* if no word is the beginning of another; then a stream of words can be cut apart without separators.
# Short words should go to frequent symbols, and there is little room for short words: if 0 is a word, all others must start with 1.
#
# Huffman's method (1952) finds a prefix code with the smallest mean length.
# It merges the two least probable symbols into one, which makes their words one bit longer, and repeats this until a single symbol is left.

# %% tags=["export"]
def huffman_lengths(p):
    """Word lengths in bits of a Huffman code for probabilities p (k,).

    Returns a list of k integers. Equal weights merge in order of age.
    """
    heap = [(float(w), i, [i]) for i, w in enumerate(p)]
    heapq.heapify(heap)
    lengths, born = [0] * len(heap), len(heap)
    while len(heap) > 1:
        w1, _, symbols1 = heapq.heappop(heap)
        w2, _, symbols2 = heapq.heappop(heap)
        for symbol in symbols1 + symbols2:
            lengths[symbol] += 1
        heapq.heappush(heap, (w1 + w2, born, symbols1 + symbols2))
        born += 1
    return lengths

# %% tags=["export"]
def expected_code_length(p, lengths):
    """Mean number of bits for a draw from p (k,), given word lengths."""
    return sum(float(w) * length for w, length in zip(p, lengths))

# %% [markdown]
# Lengths are enough to compute costs.
# To show that they belong to a working code, the folded cell also assigns words, and one below decodes them.

# %% tags=["hide-input"]
def codewords(lengths):
    """Binary words with these lengths, none the beginning of another.

    In order of length each word is the previous one plus 1, padded with
    zeros on the right to its length.
    """
    words, number, last = {}, 0, 0
    for length, symbol in sorted((v, i) for i, v in enumerate(lengths)):
        number <<= length - last
        words[symbol] = f"{number:0{length}b}"
        number, last = number + 1, length
    return [words[i] for i in range(len(lengths))]

# %%
fair = torch.full((6,), 1 / 6, dtype=f64)
loaded = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.1, 0.5], dtype=f64)
for name, p in (("fair", fair), ("loaded", loaded)):
    lengths = huffman_lengths(p)
    print(f"{name:7}", *(f"{w:5}" for w in codewords(lengths)),
          f" mean {expected_code_length(p, lengths):.3f} bits,",
          f"entropy {entropy(p).item() / math.log(2):.3f} bits")

# %% [markdown]
# The loaded die shows a six in half of its throws, so the six gets a word of a single bit.
# We send throws of the *fair* die with both codes, and read them back.

# %% tags=["hide-input"]
def decode(bits, words):
    """Symbols of a stream of words; reads one bit at a time."""
    symbols, word, result = {w: i for i, w in enumerate(words)}, "", []
    for bit in bits:
        word += bit
        if word in symbols:
            result.append(symbols[word])
            word = ""
    return result

# %%
rng = torch.Generator().manual_seed(44)
throws = torch.randint(6, (20_000,), generator=rng).tolist()
for name, p in (("fair", fair), ("loaded", loaded)):
    words = codewords(huffman_lengths(p))
    bits = "".join(words[t] for t in throws)
    assert decode(bits, words) == throws  # nothing is lost
    print(f"code for the {name} die: {len(bits) / len(throws):.2f} bits "
          "per throw")

# %% [markdown]
# The code for the wrong die costs a third of a bit more per throw; the next subsection predicts how much.
#
# One throw at a time, even the right code stays above the entropy, since a word has a whole number of bits and $\log_26$ is not an integer.
# Coding $k$ throws at once as one of $6^k$ symbols spreads the rounding over $k$ throws: the best mean length $\ell_k$ satisfies $H\le\ell_k/k<H+1/k$, where $H$ is the entropy of one throw in bits.

# %%
def block(p, k):
    """Probabilities (q**k,) of all sequences of k independent draws."""
    result = torch.ones(1, dtype=p.dtype)
    for _ in range(k):
        result = torch.outer(result, p).flatten()
    return result


sizes, right_code = [1, 2, 3, 4, 5, 6], []
for k in sizes:
    P_k = block(fair, k)
    length = expected_code_length(P_k, huffman_lengths(P_k)) / k
    right_code.append(length)
    print(f"{k} throws at once: {length:.3f} bits per throw")
print(f"entropy:          {entropy(fair).item() / math.log(2):.3f}")

# %% [markdown]
# ### Cross-entropy revisited
#
# The *cross-entropy* from $P$ to $Q$ is the mean surprisal of someone who believes $Q$ while the data follow $P$:
#
# $$H(P,Q) = \sum_j-P(j)\log Q(j). \tag{4.1.13}$$
#
# $P$ decides how often each outcome occurs, $Q$ sets its price.
# The cross-entropy loss (4.1.7) is this quantity, with the label as $P$ and the prediction as $Q$.
# If the die is certain to show a six and we believed in the loaded die, the price is $-\log0.5\approx0.693$.
#
# The excess over the entropy is the *Kullback-Leibler divergence*:
#
# $$D_{\mathrm{KL}}(P\|Q) = H(P,Q)-H[P] = \sum_jP(j)\log\frac{P(j)}{Q(j)} \ge 0, \tag{4.1.14}$$
#
# with equality if and only if $Q=P$.
# The reason is the inequality $\log t\le t-1$, with equality only at $t=1$: summed over all $j$ with $P(j)>0$, $\sum P(j)\log\frac{Q(j)}{P(j)}\le\sum P(j)\left(\frac{Q(j)}{P(j)}-1\right)\le1-1=0$.
# For the fair die and the belief in the loaded one, $H[P]=\log6\approx1.792$ and $H(P,Q)=\frac56\log10+\frac16\log2\approx2.034$.

# %%
def cross_entropy(p, q):
    """Cross-entropy in nats of p and belief q, (..., k) -> (...)."""
    return -torch.xlogy(p, q).sum(dim=-1)  # xlogy(0, 0) = 0

# %% tags=["export"]
def kl(p, q):
    """Divergence D(p || q) in nats, (..., k) -> (...); may be inf."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1)

# %%
for name, p, q_ in (("fair, believed loaded", fair, loaded),
                    ("loaded, believed fair", loaded, fair)):
    print(f"{name}: entropy {entropy(p).item():.4f} + divergence "
          f"{kl(p, q_).item():.4f} = {cross_entropy(p, q_).item():.4f}")

# %% [markdown]
# The divergence is not a distance, since it depends on the direction: believing in the loaded die while the fair one is thrown costs less than the reverse.

# %%
# check 4.1-C5: losses, surprisals, entropies and divergences in numbers
certain_six = one_hot(torch.tensor(5), 6).to(f64)  # (6,)
rare = torch.tensor([0.01, 0.99], dtype=f64)
for value, expected in (
        (cross_entropy(truth, soft), 0.3567),
        (cross_entropy(truth, soft.flip(0)), 2.3026),
        (cross_entropy(certain_six, loaded), 0.6931),
        (cross_entropy(torch.tensor([1.0, 0.0], dtype=f64), rare), 4.6052),
        (entropy(fair), 1.7918), (cross_entropy(fair, loaded), 2.0343),
        (kl(fair, loaded), 0.2426), (kl(loaded, fair), 0.2939),
        (kl(certain_six, fair), 1.7918)):  # 0 log 0 counts as 0
    assert abs(value.item() - expected) < 5e-5
coin = torch.tensor([0.5, 0.5], dtype=f64)  # one bit, log(2) nats
bits = expected_code_length(coin, huffman_lengths(coin))
assert bits == 1 and abs(bits / entropy(coin) - 1.442695) < 5e-7
seen = -loaded[throws].log().mean()  # mean surprisal of 20 000 fair throws
assert abs(seen - cross_entropy(fair, loaded)) < 0.02
assert abs(entropy(fair) - math.log(6)) < 1e-12
assert entropy(certain_six) == 0 and kl(fair, fair) == 0
assert cross_entropy(fair, certain_six) == math.inf == kl(fair, certain_six)

# %% tags=["hide-input"]
beliefs = torch.tensor([1 / 6, 0.3, 0.5, 0.7, 0.9], dtype=f64)  # of a six
Q = torch.cat((((1 - beliefs) / 5)[:, None].expand(-1, 5),
               beliefs[:, None]), dim=1)  # (5, 6)
P = fair.expand_as(Q)
torch.testing.assert_close(entropy(P) + kl(P, Q), cross_entropy(P, Q))
names = ["1/6", *(f"{v:g}" for v in beliefs[1:].tolist())]
_, ax = plt.subplots(figsize=(5.6, 3.1))
ax.bar(names, entropy(P), color="C0", label="entropy $H[P]$", width=0.6)
ax.bar(names, kl(P, Q), bottom=entropy(P), color="C1", width=0.6,
       label=r"divergence $D_{\mathrm{KL}}(P\|Q)$")
for i, total in enumerate(cross_entropy(P, Q).tolist()):
    ax.text(i, total + 0.05, f"{total:.2f}", ha="center")
ax.set(xlabel="believed probability of a six", ylabel="nats per throw",
       ylim=(0, 4.1))
ax.grid(axis="x", visible=False)
ax.legend(loc="upper left")
d2l.describe(ax, """Five bars for five beliefs about a fair die. The lower
    part, the entropy, is the same in all; the divergence on top is 0 for
    the right belief and grows with the believed probability of a six.""")

# %% [markdown]
# **Figure 4.1.7.** The cross-entropy (number above each bar) of a fair die under five beliefs: the entropy, the same for all, and the penalty for a wrong belief.

# %% [markdown]
# In bits, $H(P,Q)\approx2.935$, while the code for the loaded die cost exactly 3 per throw.
# Words of lengths $\ell_j$ act as a belief of their own, $2^{-\ell_j}$, the distribution for which these lengths are ideal, and 3 bits is the cross-entropy of $P$ and *this* belief.
# The probabilities in $Q$ are not powers of $\frac12$; in Exercise 4.1-8 blocks of throws bring the cost close to $H(P,Q)$.
#
# So the training of a classifier can be read in two ways.
# It maximizes the likelihood of the observed labels.
# It also minimizes our surprise at them, the number of bits needed to send the labels to someone who has the images and the model.
# On a training set with one-hot labels the floor is 0; in expectation over new data it is the entropy of the label given the image.

# %% [markdown]
# ## Summary
#
# - One-hot labels impose no order; least squares on them, with a bias, gives outputs that sum to 1, but many lie outside [0, 1].
# - Softmax turns $q$ scores into probabilities; it keeps their order, ignores a common shift, becomes the sigmoid for $q=2$, and its temperature sets the entropy.
# - Cross-entropy is the negative log-likelihood of the labels; from scores it is $\log\sum_k\exp o_k-\sum_jy_jo_j$, for one-hot and soft labels alike.
# - Its gradient is $\hat{\mathbf{y}}-\mathbf{y}$ and its Hessian a covariance, so the loss is convex in the parameters; squared error on probabilities has almost no gradient where the model is confidently wrong.
# - Entropy is the expected surprisal, and no prefix code has a smaller mean length; believing $Q$ while $P$ holds costs $H(P,Q)=H[P]+D_{\mathrm{KL}}(P\|Q)$.

# %% [markdown]
# ## Exercises
#
# ### Exercise 4.1-1
#
# Compute the second derivative of the cross-entropy loss with respect to one score $o_j$.
# Compute the variance of component $j$ of a one-hot label drawn from $\operatorname{softmax}(\mathbf{o})$.
# Compare, and say for which prediction the loss is most strongly curved.

# %% [markdown]
# #### Solution 4.1-1

# %% [markdown]
# From (4.1.9), $\partial^2l/\partial o_j^2=\partial\hat y_j/\partial o_j=\hat y_j(1-\hat y_j)$.
# Component $j$ is 1 with probability $\hat y_j$ and 0 otherwise, so its variance is $E[y_j^2]-E[y_j]^2=\hat y_j-\hat y_j^2$: the same number.
# It is largest, $\frac14$, at $\hat y_j=\frac12$ and vanishes at 0 and 1.
# The loss curves where the model is undecided, and is nearly straight where it is sure.
# (The gradient of a log-partition function is a mean and its Hessian a covariance in every exponential family.)

# %%
o = torch.tensor([0.3, -1.2, 0.8, 2.0], dtype=f64)
hessian = torch.autograd.functional.hessian(
    lambda o: torch.logsumexp(o, dim=0), o)  # (4, 4)
p = softmax(o)
outcomes = torch.eye(4, dtype=f64)  # the four one-hot labels
mean = p @ outcomes  # (4,)
centred = outcomes - mean
covariance = centred.mT @ (p[:, None] * centred)  # (4, 4)
torch.testing.assert_close(hessian, covariance)
torch.testing.assert_close(covariance.diagonal(), p * (1 - p))

# %% [markdown]
# ### Exercise 4.1-2
#
# Three classes are equally probable, $P=(\frac13,\frac13,\frac13)$.
# What is wrong with giving each a word of two bits?
# Find a better binary code, and improve it by coding two and three labels together.

# %% [markdown]
# #### Solution 4.1-2

# %% [markdown]
# Two bits can name four things, so one of the four words is wasted; the entropy is only $\log_23\approx1.585$ bits.
# The words 0, 10, 11 need $\frac53$ bits on average.
# Two labels have nine outcomes; the Huffman code has seven words of three bits and two of four, together $\frac{29}9$ bits, or 1.611 per label.
# Three labels together need 1.605 bits each.
# These are the numbers of the fair die minus 1, because a die is a fair coin together with a draw from three classes, and the coin costs exactly one bit.

# %%
third = torch.full((3,), 1 / 3, dtype=f64)
for k, value in ((1, 1.667), (2, 1.611), (3, 1.605)):
    P_k = block(third, k)
    lengths = huffman_lengths(P_k)
    mean = expected_code_length(P_k, lengths) / k
    print(f"{k} together: {mean:.3f} bits, longest word {max(lengths)}")
    assert abs(mean - value) < 5e-4 and mean > math.log2(3)
    assert abs(mean - (right_code[k - 1] - 1)) < 1e-9

# %% [markdown]
# ### Exercise 4.1-3
#
# A signal on a wire may have three levels instead of two.
# How many such *ternary* digits does a number from $\{0,\dots,7\}$ need?
# Compare with bits.
# What else decides which is better in practice?

# %% [markdown]
# #### Solution 4.1-3

# %% [markdown]
# $m$ ternary digits distinguish $3^m$ values; $3^1=3<8\le9=3^2$, so two digits are enough, where three bits are needed.
# Each ternary digit can carry $\log_23\approx1.585$ bits.
# If a digit with $r$ levels costs an effort proportional to $r$, a number below $N$ costs about $r\log_rN=\frac r{\log r}\log N$, which is smallest for $r=e$, and 3 is slightly better than 2.
# In practice logic uses two levels, which are easiest to tell apart under noise; fast links over clean channels do use more.

# %%
def digits(count, base):
    """Digits that are needed to tell `count` values apart."""
    m = 0
    while base**m < count:
        m += 1
    return m


assert digits(8, 3) == 2 and digits(8, 2) == 3
assert len(set(itertools.product(range(3), repeat=2))) >= 8
effort = {r: r / math.log(r) for r in (2, 3, 4, 5)}
print({r: round(v, 2) for r, v in effort.items()})
assert min(effort, key=effort.get) == 3

# %% [markdown]
# ### Exercise 4.1-4
#
# Log-sum-exp deserves the name *RealSoftMax*: $\operatorname{RealSoftMax}(a,b)=\log(e^a+e^b)$.
# Show that it exceeds $\max(a,b)$, by at most $\log2$.
# Show that $\lambda^{-1}\log\sum_ie^{\lambda a_i}\to\max_ia_i$ for $\lambda\to\infty$, with any number of arguments.
# What would a soft minimum be?

# %% [markdown]
# #### Solution 4.1-4

# %% [markdown]
# Let $a\ge b$.
# Then $\log(e^a+e^b)=a+\log(1+e^{b-a})$, and $0<e^{b-a}\le1$, so the excess over $a$ is positive and at most $\log2$, which is reached for $a=b$.
# With $q$ arguments the largest contributes 1 to $\sum_ie^{\lambda(a_i-\max)}$ and the others at most 1 each, so
# $\max\le\lambda^{-1}\log\sum_ie^{\lambda a_i}\le\max+\lambda^{-1}\log q$, and the gap is at most of the order $1/\lambda$.
# The soft minimum is $-\lambda^{-1}\log\sum_ie^{-\lambda a_i}$.

# %%
rng = torch.Generator().manual_seed(45)
ab = 5 * torch.randn(1000, 2, generator=rng, dtype=f64)
gap = torch.logsumexp(ab, dim=1) - ab.max(dim=1).values  # (1000,)
assert (gap >= 0).all() and (gap <= math.log(2)).all()
assert gap[(ab[:, 0] - ab[:, 1]).abs() < 30].min() > 0
a = torch.tensor([1.0, 2.0, 2.5, 2.5], dtype=f64)
for lam in (1, 10, 100):
    high = (torch.logsumexp(lam * a, dim=0) / lam).item()
    low = (-torch.logsumexp(-lam * a, dim=0) / lam).item()
    print(f"lambda {lam:3}: soft maximum {high:.4f}, soft minimum {low:.4f}")
    assert 0 < high - 2.5 <= math.log(4) / lam
    assert low <= 1.0 and 1.0 - low <= math.log(4) / lam

# %% [markdown]
# ### Exercise 4.1-5
#
# Let $g(\mathbf{x})=\log\sum_i\exp x_i$, the *log-partition function*.
# Show that it is convex.
# What happens to $g$ and to the softmax if the same number $b$ is added to all $x_i$?
# What does that say about computing $g$ for large $x_i$?

# %% [markdown]
# #### Solution 4.1-5

# %% [markdown]
# The Hessian of $g$ is (4.1.11), a covariance matrix, hence positive semidefinite, and $g$ is convex.
# $g(\mathbf{x}+b)=\log\left(e^b\sum_i\exp x_i\right)=g(\mathbf{x})+b$: the function moves with the shift.
# (Some texts state $g(\mathbf{x}+b)=g(\mathbf{x})$; that holds for the softmax, the gradient of $g$, but not for $g$.)
# So $g(\mathbf{x})=b+g(\mathbf{x}-b)$ with $b=\max_ix_i$, in which all exponents are at most 0 and nothing overflows; [Section 4.5](05-softmax-regression-concise.ipynb) builds on it.

# %%
def g(x):
    return torch.log(torch.exp(x).sum(dim=-1))


x123 = torch.tensor([1.0, 2.0, 3.0], dtype=f64)
print(f"g(x) = {g(x123):.4f}, g(x + 10) = {g(x123 + 10):.4f}")
assert abs(g(x123) - 3.4076) < 5e-5
assert abs(g(x123 + 10) - 13.4076) < 5e-5
torch.testing.assert_close(softmax(x123 + 10), softmax(x123))
u, v = ab[:500], ab[500:]  # convex: below the chord at its middle
assert (g((u + v) / 2) <= (g(u) + g(v)) / 2 + 1e-12).all()
large = torch.tensor([1000.0, 999.0], dtype=f64)
assert g(large).isinf() and (large.max() + g(large - 1000)).isfinite()

# %% [markdown]
# ### Exercise 4.1-6
#
# Let $P=\operatorname{softmax}(\mathbf{o})$ and $Q(i)\propto P(i)^\alpha$ with $\alpha>0$.
# Which temperature does $\alpha$ correspond to, and what happens at $T\to0$ and $T\to\infty$?
#
# The *Bradley-Terry* model says that a customer prefers apples to oranges with probability $\frac{e^{a}}{e^{a}+e^{r}}$, for scores $a$ and $r$.
# Extend it to customers who may also buy neither.

# %% [markdown]
# #### Solution 4.1-6

# %% [markdown]
# $P(i)^\alpha\propto\exp(\alpha o_i)$, so $Q=\operatorname{softmax}(\alpha\mathbf{o})$ and $\alpha=1/T$.
# Halving the temperature squares the probabilities, doubling it takes their square roots, each followed by normalization.
# At $T\to0$ all probability goes to the largest score (shared equally among several largest ones), at $T\to\infty$ the distribution becomes uniform.
#
# The Bradley-Terry model is a softmax with two scores.
# The default option gets a score of its own, and only differences count, so it may be fixed at 0: a three-way softmax of $(a,r,0)$.
# Among those who buy, the ratio of apples to oranges is $e^{a-r}$ as before.
# This *independence of irrelevant alternatives* is an assumption, and often a wrong one: a second brand of apples takes more customers from the first brand than from the oranges.

# %%
o = torch.tensor([1.0, 2.0, 3.0], dtype=f64)
for alpha in (0.5, 2.0):
    power = softmax(o) ** alpha
    torch.testing.assert_close(power / power.sum(), softmax(o * alpha))
torch.testing.assert_close(softmax(o / 0.02), truth)  # T -> 0: one-hot
torch.testing.assert_close(softmax(o / 1e9), third)  # T -> inf: uniform

apple, orange = 0.7, 0.2
three = softmax(torch.tensor([apple, orange, 0.0], dtype=f64))
two = softmax(torch.tensor([apple, orange], dtype=f64))
print("apples, oranges, neither:", [round(v, 3) for v in three.tolist()])
torch.testing.assert_close(three[:2] / three[:2].sum(), two)
assert abs(two[0] - 1 / (1 + math.exp(orange - apple))) < 1e-12

# %% [markdown]
# ### Exercise 4.1-7
#
# Softmax is not the only *link* between scores and probabilities.
# Add independent noise to each score and let the class with the highest noisy score win.
# Gaussian noise gives the *probit* model.
# Which noise gives exactly the softmax?
# Simulate both for the scores $(1,2,3)$.

# %% [markdown]
# #### Solution 4.1-7

# %% [markdown]
# Gumbel noise, $-\log(-\log U)$ with $U$ uniform on $(0,1)$.
# Its distribution function is $\exp(-e^{-z})$, so score $i$ wins with probability $\int e^{-(z-o_i)}\prod_j\exp(-e^{-(z-o_j)})\,dz$.
# With $S=\sum_je^{o_j}$ the integrand is $e^{o_i}e^{-z}\exp(-Se^{-z})$, whose integral is $e^{o_i}/S$.
#
# For two classes the probit probability is the normal distribution function of the rescaled difference of the scores; for more classes it is an integral without a closed form.
# With noise of the same variance, $\pi^2/6$, the two links differ by a few hundredths here.

# %%
rng = torch.Generator().manual_seed(41)
U = torch.rand(200_000, 3, generator=rng, dtype=f64).clamp(1e-12, 1 - 1e-12)
noises = {"Gumbel": -torch.log(-torch.log(U)),
          "Gaussian": math.pi / 6**0.5 * torch.randn(
              200_000, 3, generator=rng, dtype=f64)}
shares = {}
for name, noise in noises.items():
    winners = (o + noise).argmax(dim=1)  # (200000,)
    shares[name] = winners.bincount(minlength=3).double() / len(U)
    print(f"{name:9}", [round(v, 3) for v in shares[name].tolist()])
torch.testing.assert_close(shares["Gumbel"], softmax(o), rtol=0, atol=0.005)
assert 0.01 < (shares["Gaussian"] - softmax(o)).abs().max() < 0.05

# %% [markdown]
# ### Exercise 4.1-8
#
# Throws of the fair die $P$ are sent in blocks of $k$, with a code made for the loaded die $Q$.
# Which lengths guarantee a cost between $H(P,Q)$ and $H(P,Q)+1/k$ bits per throw?
# Compare with the Huffman code for $Q$, for $k=1,\dots,6$.

# %% [markdown]
# #### Solution 4.1-8

# %% [markdown]
# A Huffman code keeps the mean short for its own die, but a single word may be longer or shorter than its surprisal.
# A bound for *another* die needs a bound on each word, and Shannon gave one: a prefix code exists whose lengths are the surprisals $-\log_2Q$, rounded up, because then $\sum_j2^{-\ell_j}\le1$ (Kraft's inequality).
# Each word wastes less than one bit, so a block wastes less than one bit whatever $P$ is.

# %%
wrong_code, rounded_code = [], []
for k in sizes:
    P_k, Q_k = block(fair, k).tolist(), block(loaded, k).tolist()
    wrong_code.append(expected_code_length(P_k, huffman_lengths(Q_k)) / k)
    rounded = [math.ceil(-math.log2(w)) for w in Q_k]
    assert sum(0.5**length for length in rounded) <= 1  # there is room
    rounded_code.append(expected_code_length(P_k, rounded) / k)
print("Huffman:   ", [round(v, 2) for v in wrong_code])
print("rounded up:", [round(v, 2) for v in rounded_code])

# %%
# check 4.1-C7: Huffman codes against entropy and cross-entropy
H_bits = entropy(fair).item() / math.log(2)
H_cross = cross_entropy(fair, loaded).item() / math.log(2)
assert abs(H_bits - 2.585) < 5e-4 and abs(H_cross - 2.935) < 5e-4
for k, value in ((1, 8 / 3), (2, 2.611), (3, 2.605), (5, 2.589)):
    assert abs(right_code[k - 1] - value) < 5e-4
for k, right, bound in zip(sizes, right_code, rounded_code):
    assert H_bits - 1e-12 <= right < H_bits + 1 / k
    assert H_cross <= bound < H_cross + 1 / k
lengths = huffman_lengths(loaded)
assert lengths == [4, 4, 3, 3, 3, 1]
assert abs(expected_code_length(loaded, lengths) - 2.2) < 1e-12
assert abs(wrong_code[0] - 3) < 1e-12
implied = 0.5 ** torch.tensor(lengths, dtype=f64)  # (6,)
assert implied.sum() == 1  # a distribution; its cross-entropy is the cost
assert abs(cross_entropy(fair, implied) / math.log(2) - 3) < 1e-12
assert huffman_lengths([1.0]) == [0]  # a constant stream needs no bits

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(6.6, 3.4))
for level, color, name in ((H_bits, "C0", "entropy\n$H[P]$"),
                           (H_cross, "C1", "cross-entropy\n$H(P,Q)$")):
    ax.axhline(level, color=color, lw=1, ls="--")
    ax.text(6.25, level, name, va="bottom", color=color)
ax.plot(sizes, rounded_code, "^:", color="C3", label="surprisals of Q, "
        "rounded up")
ax.plot(sizes, wrong_code, "s-", color="C1", label="Huffman code for Q")
ax.plot(sizes, right_code, "o-", color="C0", label="Huffman code for P")
ax.annotate("", (5.5, H_cross), (5.5, H_bits),
            arrowprops={"arrowstyle": "<->", "color": "black"})
ax.text(5.4, (H_bits + H_cross) / 2, r"$D_{\mathrm{KL}}(P\|Q)$",
        va="center", ha="right")
ax.set(xlabel="throws in one block", ylabel="bits per throw",
       xlim=(0.8, 7.7), ylim=(2.5, 3.6), xticks=sizes)
ax.legend(loc="upper right")
d2l.describe(ax, """Bits per throw of a fair die against the number of
    throws coded together. With the right code the values fall from 2.67
    towards the entropy, 2.585; with two codes for the loaded die they
    come close to the cross-entropy, 2.935, one from above and one from
    both sides.""")

# %% [markdown]
# **Figure 4.1.8.** Throws of the fair die $P$, coded in blocks.
# The right code approaches the entropy; codes for the loaded die $Q$ end near the cross-entropy, and the gap is the divergence.

# %% [markdown]
# ## Sources
#
# - C. E. Shannon, A mathematical theory of communication, 1948, [doi:10.1002/j.1538-7305.1948.tb01338.x](https://doi.org/10.1002/j.1538-7305.1948.tb01338.x): entropy and the source coding theorem.
# - D. A. Huffman, A method for the construction of minimum-redundancy codes, 1952, [doi:10.1109/JRPROC.1952.273898](https://doi.org/10.1109/JRPROC.1952.273898).
# - S. Kullback and R. A. Leibler, On information and sufficiency, 1951, [doi:10.1214/aoms/1177729694](https://doi.org/10.1214/aoms/1177729694).
# - J. W. Gibbs, *Elementary Principles in Statistical Mechanics*, 1902: the distribution behind the softmax; J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990, [doi:10.1007/978-3-642-76153-9_28](https://doi.org/10.1007/978-3-642-76153-9_28): the name softmax, and its use with cross-entropy.
# - C. I. Bliss, The method of probits, 1934, [doi:10.1126/science.79.2037.38](https://doi.org/10.1126/science.79.2037.38); R. D. Luce, *Individual Choice Behavior*, 1959, and D. McFadden, Conditional logit analysis of qualitative choice behavior, 1974: choice models and Gumbel noise.
# - R. A. Bradley and M. E. Terry, Rank analysis of incomplete block designs, 1952, [doi:10.1093/biomet/39.3-4.324](https://doi.org/10.1093/biomet/39.3-4.324).
# - G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge in a neural network, 2015, [arXiv:1503.02531](https://arxiv.org/abs/1503.02531); C. Szegedy et al., Rethinking the Inception architecture, 2016, [arXiv:1512.00567](https://arxiv.org/abs/1512.00567): label smoothing.
# - T. Hastie, R. Tibshirani and J. Friedman, *The Elements of Statistical Learning*, 2009, [doi:10.1007/978-0-387-84858-7](https://doi.org/10.1007/978-0-387-84858-7), Section 4.2: regression on an indicator matrix.
# - T. M. Cover and J. A. Thomas, *Elements of Information Theory*, 2006, [doi:10.1002/047174882X](https://doi.org/10.1002/047174882X): codes in blocks.
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
