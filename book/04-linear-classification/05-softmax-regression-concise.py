# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#         batch_size: 256
#         lr: 0.1
#         num_gpus: 1
#       smoke:
#         train_size: 2000
#         val_size: 500
#         max_epochs: 3
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
# # 4.5 Concise implementation of softmax regression
#
# With the layers of PyTorch, softmax regression is a class of five lines.
# The softmax itself is missing from these lines, and for a good reason: computed by its formula it fails for scores that a network can easily produce.
# This section shows where it fails, how a rearranged logarithm avoids the failure, and what happens if the softmax is added back.
#
# **You will**
#
# - write the model from a flattening and a lazy linear layer, and prove that it equals the one from scratch;
# - say for which scores the exponential overflows or underflows in four number formats;
# - derive the log-sum-exp trick, and implement a softmax and a loss that work for all finite scores;
# - recognize a model with one softmax too many by the floor of its loss.
#
# **Cost**: about half a minute on a CPU, no GPU needed; a download of 31 MB, once.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, SoftmaxRegressionScratch, calibration_error,
    cross_entropy_from_logits, one_hot, predict, softmax)
from d2l_helpers.chapters.linear_regression import Trainer, add_to_class

d2l.use_style()
close = torch.testing.assert_close

# %% tags=["parameters"]
train_size = 10_000  # training images
val_size = 2_000  # test images, which play the validation set
batch_size = 64
lr = 0.02
max_epochs = 10
num_gpus = 0  # 1: train on an accelerator, if there is one

# %%
offsets = torch.tensor([0.0, -1.0, -2.0])


def naive(c):
    """The formula of Section 4.1 for the scores c, c - 1, c - 2: (3,)."""
    return softmax((offsets + c).unsqueeze(0))[0]  # (1, 3) -> (3,)

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 2.7), sharey=True)
for ax, low, high in zip(axes, (-108.0, 84.0), (-93.0, 92.0)):
    c = torch.linspace(low, high, 385)
    p = torch.stack([naive(v)[0] for v in c])  # (385,)
    ax.plot(c, [torch.softmax(offsets + v, 0)[0] for v in c], "--",
            color="C0", label="torch.softmax")
    ax.plot(c, p, color="C1", label="by the formula")
    lost = c[p.isnan()]
    ax.axvspan(lost.min(), lost.max(), color="#dddddd")
    ax.text(lost.mean(), 0.35, "nan", ha="center", color="C1")
    ax.set(xlabel="c", xlim=(low, high))
    ax.xaxis.set_major_locator(plt.MaxNLocator(5, steps=[2, 4]))
axes[0].set(ylabel="probability of class 0", ylim=(-0.04, 1.06))
axes[1].legend(loc="center left", bbox_to_anchor=(0, 0.4))
d2l.describe(axes, """The probability of the first class for scores c, c-1,
    c-2 in float32. That of torch.softmax is constant. The formula as it
    stands oscillates more and more below -98, jumps to 1, and is nan below
    -104; above 88.3 it drops to 0 and is nan from 88.7 on.""")

# %% [markdown]
# **Figure 4.5.1.** The probability of the first of three classes with the scores $(c, c-1, c-2)$, in `float32`.
# It should not depend on $c$; the formula of [Section 4.1](01-softmax-regression.ipynb) loses precision on the left and fails at both ends, PyTorch's softmax does not.

# %%
data = FashionMNIST(batch_size, train_size=train_size, val_size=val_size)
X, y = next(iter(data.val_dataloader()))  # (64, 1, 28, 28), (64,)

# %% [markdown]
# ## Defining the model
#
# The model has one layer with weights, a fully connected one with $q=10$ outputs.
# It expects rows of numbers, so each image of shape $(1,28,28)$ must first become a row of 784 pixels.
# `nn.Flatten` does this: it keeps the first axis, which counts the examples, and merges all others.
# `nn.Sequential` chains layers, each of which receives what the one before it returns.

# %%
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
rows = net[0](X)  # (64, 1, 28, 28) -> (64, 784)
print("images", tuple(X.shape), "-> rows", tuple(rows.shape))
print("the weights are of type", type(net[1].weight).__name__)

# %% [markdown]
# The linear layer is lazy, as in [Section 3.5](../03-linear-regression/05-linear-regression-concise.ipynb).
# Until the first batch has passed it knows neither its 784 inputs nor, therefore, the shape of its weights.
# Asking how many there are is an error.

# %%
# check 4.5-C9: parameters without a shape cannot be counted
try:
    sum(p.numel() for p in net.parameters())
    raise AssertionError("the lazy layer should have no shape yet")
except ValueError as error:
    print("ValueError:", str(error).split(".")[0])
logits = net(X)  # (64, 10); the first batch creates the parameters
assert logits.shape == (len(X), 10)
assert sum(p.numel() for p in net.parameters()) == 784 * 10 + 10

# %% [markdown]
# We wrote `net(X)` and not `net.forward(X)`.
# Calling a model runs the method `__call__` that `nn.Module` provides, and this runs `forward`, together with all functions, called *hooks*, that somebody has attached to the model.
# Calling `forward` directly gives the same output but skips the hooks.

# %%
calls = []
handle = net.register_forward_hook(lambda *_: calls.append("hook"))
close(net(X), net.forward(X))  # two forward passes, one hook
handle.remove()
assert calls == ["hook"]

# %% [markdown]
# The class wraps these two layers.
# `Module` has a `forward` that applies `self.net`, `Classifier` adds accuracy and validation, and the optimizer is the default of [Section 4.3](03-base-classification-model.ipynb), so nothing else is needed.
# The weights start from the default of `nn.Linear`, uniform numbers between $-1/\sqrt{784}$ and $1/\sqrt{784}$; since the loss is convex, any small start will do.

# %% tags=["export"]
class SoftmaxRegression(Classifier):
    """Linear scores (n, num_outputs) of examples (n, ...), no softmax."""

    def __init__(self, num_outputs, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs))

# %%
model = SoftmaxRegression(num_outputs=10, lr=lr)
print("output:", tuple(model(X).shape))
print({name: tuple(p.shape) for name, p in model.named_parameters()})

# %% [markdown]
# The output is a row of *logits*, scores that may be any real numbers.
# The model of [Section 4.4](04-softmax-regression-scratch.ipynb) returned probabilities.
# From here on the classifiers of this book return logits, and the softmax is part of the loss, for the reason that follows.

# %% [markdown]
# ## Softmax revisited
#
# ### Where the exponential ends
#
# The softmax of the scores $\mathbf{o}\in\mathbb{R}^q$ is made of exponentials, $\hat y_j=\exp(o_j)/\sum_k\exp(o_k)$.
# An exponential of a moderate number can be extreme.
# The usual type, `float32`, holds positive numbers from about $10^{-38}$ to $10^{38}$, and as $\log 10\approx2.3$, this means arguments of $\exp$ between about $-88$ and $88$.
# Three boundaries matter, and each type of number has its own.
#
# - Above the logarithm of the largest number the result is infinite: *overflow*.
# - Below the logarithm of the smallest *normal* number the format runs out of exponents and sacrifices digits instead. Such numbers are called *subnormal*, and the smaller they are the fewer digits they have.
# - Below the logarithm of half the smallest subnormal number the result is rounded to 0: *underflow*.
#
# `torch.finfo` knows these numbers.
# The check tests the limits without it, by bisection: it computes $e^x$ in `float64`, rounds it to the type, and looks for the place where the result changes.

# %%
dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def exp_limits(dtype):
    """Arguments below which exp is 0, subnormal and finite."""
    info = torch.finfo(dtype)
    smallest_normal = math.log(info.smallest_normal)
    # eps is the spacing of numbers at 1, hence eps * smallest_normal the
    # smallest subnormal; half of it rounds to 0
    zero = smallest_normal + math.log(info.eps / 2)
    return zero, smallest_normal, math.log(info.max)


print("type               0 below  subnormal below  inf above")
for dtype in dtypes:
    zero, normal, largest = exp_limits(dtype)
    print(f"{str(dtype):15}{zero:11.2f}{normal:17.2f}{largest:11.2f}")

# %%
def bisect(holds, yes, no):
    """The place between `yes` and `no` where `holds` changes."""
    for _ in range(60):
        middle = (yes + no) / 2
        yes, no = (middle, no) if holds(middle) else (yes, middle)
    return yes


def stored(x, dtype):
    """e**x, computed in float64 and rounded to the type."""
    x = torch.tensor(x, dtype=torch.float64)
    return x.exp().to(dtype)


# %%
# check 4.5-C4: the limits of the exponential, by type
table = {torch.float16: (-17.3, -9.70, 11.09),
         torch.bfloat16: (-92.9, -87.34, 88.72),
         torch.float32: (-103.97, -87.34, 88.72),
         torch.float64: (-745.1, -708.40, 709.78)}
for dtype, expected in table.items():
    zero, normal, largest = exp_limits(dtype)
    top = bisect(lambda x: stored(x, dtype).isfinite(), 0.0, 1000.0)
    bottom = bisect(lambda x: stored(x, dtype) > 0, 0.0, -1000.0)
    for ours, searched, printed in ((zero, bottom, expected[0]),
                                    (largest, top, expected[2])):
        assert abs(ours - searched) < 0.01 and abs(ours - printed) < 0.05
    assert abs(normal - expected[1]) < 0.05

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(7.2, 2.7))
parts = (("0", "#bbbbbb"), ("subnormal", "#E69F00"), ("normal", "C0"),
         ("overflow", "C1"))
for i, dtype in enumerate(dtypes):
    limits = exp_limits(dtype)
    edges = (-2000, *limits, 2000)
    for (label, color), a, b in zip(parts, edges, edges[1:]):
        ax.barh(-i, b - a, left=a, height=0.5, color=color,
                label=label if i == 0 else None)
    for edge, side in zip(limits, ("right", "left", "center")):
        ax.text(edge, 0.3 - i, f"{edge:.1f}", ha=side, fontsize=8)
ax.set_xscale("symlog", linthresh=5, linscale=0.4)
ax.set(xlim=(-2000, 2000), ylim=(-3.45, 0.65), xlabel="x, argument of exp")
ax.set_xticks([-1000, -100, -10, 0, 10, 100, 1000],
              ["-1000", "-100", "-10", "0", "10", "100", "1000"])
ax.minorticks_off()
ax.set_yticks([0, -1, -2, -3], [str(t).split(".")[1] for t in dtypes])
ax.grid(False)
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
d2l.describe(ax, """Four bars, one for each number type, over the argument
    of exp. Each is divided into results that are zero, subnormal, normal
    and infinite. float16 overflows above 11.1 and is zero below -17.3;
    bfloat16 and float32 overflow above 88.7; float64 above 709.8.""")

# %% [markdown]
# **Figure 4.5.2.** What $e^x$ becomes in four types of numbers: the half-precision type `float16` overflows at an argument of 11, about the size of the largest score of the model that we train below.
#
# `bfloat16`, the other type of 16 bits, has the range of `float32`, paid for with digits.
# The range is one reason why large models are trained in `bfloat16` rather than in `float16`.
#
# Training in half precision does not expose every step to these limits.
# PyTorch's `torch.autocast` runs matrix products in 16 bits, and on CUDA devices it runs `exp`, `log_softmax`, `softmax` and the losses in `float32`.
# On the CPU its list is shorter: the loss is returned in `float32`, while the softmax keeps the type of its input.

# %%
layer, batch = nn.Linear(784, 10), X[:4].flatten(1)
with torch.autocast("cpu", dtype=torch.float16):
    half = layer(batch)  # (4, 10)
    results = {"scores": half, "softmax": torch.softmax(half, dim=-1),
               "cross_entropy": F.cross_entropy(half, y[:4])}
print({name: str(value.dtype) for name, value in results.items()})
assert half.dtype == torch.float16
assert results["cross_entropy"].dtype == torch.float32
assert results["softmax"].dtype == torch.float16
score = torch.tensor([[12.0, 0.0]], dtype=torch.float16)
assert softmax(score).isnan().any()  # exp(12) is infinite in float16
assert torch.softmax(score, dim=-1).isfinite().all()

# %% [markdown]
# The last lines show what helps in any type: not a wider format but another order of computation, to which we turn now.

# %% [markdown]
# ### The formula as it stands fails
#
# The `softmax` of [Section 4.1](01-softmax-regression.ipynb) applies the formula literally.
# For the scores $(c, c-1, c-2)$ of Figure 4.5.1 the constant $c$ cancels, so the answer should be $(0.6652, 0.2447, 0.0900)$, the one for $c=0$.

# %%
for c in (0, 88, 88.5, 88.73, -100, -103, -104):
    print(f"c = {c:6}:", "  ".join(f"{p:.4f}" for p in naive(c).tolist()))

# %% [markdown]
# At $c=88.5$ all three exponentials are finite, but their sum is not, and all three "probabilities" are 0.
# A little further the largest exponential is infinite too, and $\infty/\infty$ is *nan*, not a number.
# On the other side precision is lost before the result becomes nan, $0/0$: the numbers at $-100$ look like probabilities, sum to 1, and the smallest of them is wrong by eight percent.
# No warning is given.

# %%
# check 4.5-C3: the formula at both ends of float32
right = torch.softmax(offsets, dim=0)
close(naive(88), right, rtol=1e-5, atol=0)
assert torch.equal(naive(88.5), torch.zeros(3))
assert naive(88.73)[0].isnan()
error = (naive(-100) / right - 1).abs()  # (3,), relative
assert abs(naive(-100)[0] - 0.6585) < 1e-4 and 0.05 < error.max() < 0.2
assert naive(-103).tolist() == [1, 0, 0]
assert naive(-104).isnan().all()

# %% [markdown]
# ### Shift by the largest score
#
# The cure uses the very property that the formula violates.
# Since a constant may be subtracted from all scores, we subtract one that makes the exponentials harmless, the largest score $\bar o=\max_ko_k$:
#
# $$
# \hat y_j = \frac{\exp o_j}{\sum_{k=1}^q\exp o_k}
# = \frac{\exp(o_j-\bar o)}{\sum_{k=1}^q\exp(o_k-\bar o)}. \tag{4.5.1}
# $$
#
# Here $\mathbf{o}\in\mathbb{R}^q$ holds the scores of one example, $\hat y_j\in[0,1]$ is the probability of class $j$, and $k$ runs over all $q$ classes.
# All differences $o_k-\bar o$ are 0 or negative, so each numerator lies in $(0,1]$.
# One of them is exactly 1, so the denominator lies in $[1,q]$.
# No exponential overflows, and the division is safe.

# %%
def stable_softmax(X):
    """Probabilities of scores (..., q), for all finite scores."""
    X_exp = torch.exp(X - X.amax(dim=-1, keepdim=True))  # in (0, 1]
    return X_exp / X_exp.sum(dim=-1, keepdim=True)


def stable(c):
    """Like `naive`, but shifted by the largest score."""
    return stable_softmax(offsets + c)


for c in (88.73, -104, 10_000):
    close(stable(c), right)

# %% [markdown]
# ### Never form the probability
#
# The shift repairs the softmax, but not yet the loss.
# A numerator may still round to 0, rightly: no `float32` is closer to $e^{-1000}$.
# But the loss takes its logarithm.

# %%
o = torch.tensor([[1000.0, 0.0, 0.0]], requires_grad=True)  # (1, 3)
probability = stable_softmax(o)[0, 1]  # of class 1
loss = -torch.log(probability)
loss.backward()
print("probability", probability.item(), "  loss", loss.item())
print("gradient", o.grad.tolist())
formed_loss, formed_grad = loss.detach(), o.grad

# %% [markdown]
# The loss is infinite and its gradient is nan, and after one step of the optimizer so are all parameters.
# Yet the exact loss is the unspectacular number 1000.
# The way out is to simplify the logarithm first.
# The logarithm of the numerator of (4.5.1) needs no exponential at all:
#
# $$
# \log\hat y_j = o_j-\bar o-\log\sum_{k=1}^q\exp(o_k-\bar o). \tag{4.5.2}
# $$
#
# The index $j$ is the class that is asked for and stays fixed; $k$ is only the name of the summation, and the two must not be mixed up.
# The sum lies in $[1,q]$, and its logarithm in $[0,\log q]$.
# What was an exponential followed by its inverse is now a subtraction, $o_j-\bar o$, which can be as negative as it likes.
#
# The part that does not depend on $j$ is a function of its own, *log-sum-exp*, and with it the cross-entropy loss of an example with the label $y$ is
#
# $$
# l(\mathbf{o},y) = \operatorname{LSE}(\mathbf{o})-o_y,
# \qquad
# \operatorname{LSE}(\mathbf{o}) = \log\sum_{k=1}^q\exp o_k
# = \bar o+\log\sum_{k=1}^q\exp(o_k-\bar o). \tag{4.5.3}
# $$
#
# $y\in\{0,\dots,q-1\}$ is the number of the true class, $o_y$ its score, and $\operatorname{LSE}(\mathbf{o})$ one number, a smooth version of the maximum: it lies between $\bar o$ and $\bar o+\log q$.
# For $\mathbf{o}=(1000,0,0)$ and $y=1$ it is $1000+\log(1+2e^{-1000})$, which is 1000 to all digits, and the loss is $1000-0$.

# %%
def logsumexp(X):
    """log(sum(exp(X))) of scores (..., q), shape (..., 1)."""
    shift = X.amax(dim=-1, keepdim=True).detach()  # cancels, so no gradient
    return shift + (X - shift).exp().sum(dim=-1, keepdim=True).log()


def log_softmax(X):
    """Logarithms of the probabilities of scores (..., q)."""
    X = X - X.amax(dim=-1, keepdim=True).detach()  # 0 or negative
    return X - X.exp().sum(dim=-1, keepdim=True).log()

# %% [markdown]
# On paper `X - logsumexp(X)` is the same as `log_softmax(X)`.
# In rounded arithmetic the order of (4.5.2) is better: $\bar o$ is subtracted first, and costs no digits.
# For the scores $(10\,000,\,9990)$ the loss of class 0 is $\log(1+e^{-10})$, small but not 0.
# Added to 10 000 it is rounded away.

# %%
o = torch.tensor([10_000.0, 9_990.0])
for name, value in (("LSE(o) - o_y", logsumexp(o)[0] - o[0]),
                    ("order of (4.5.2)", -log_softmax(o)[0])):
    print(f"{name:17}{value:.3e}")
close(-log_softmax(o)[0].item(), math.log1p(math.exp(-10)),
      rtol=5e-3, atol=0)
assert logsumexp(o)[0] - o[0] == 0

# %%
# check 4.5-C1: own functions equal PyTorch's for small and huge scores
g = torch.Generator().manual_seed(0)
for scale in (1, 100, 10_000):
    O = scale * torch.randn(200, 10, generator=g)
    lse = torch.logsumexp(O, dim=-1, keepdim=True)
    close(logsumexp(O), lse, rtol=1e-6, atol=1e-6)
    assert (lse >= O.amax(dim=-1, keepdim=True)).all()
    close(log_softmax(O), torch.log_softmax(O, -1), rtol=1e-6, atol=1e-6)
    close(stable_softmax(O), torch.softmax(O, -1), rtol=1e-6, atol=1e-6)

# %% [markdown]
# The gradient is healed too.
# By the formula of [Section 4.1](01-softmax-regression.ipynb) it is $\operatorname{softmax}(\mathbf{o})-\mathbf{y}$ with the one-hot label $\mathbf{y}$, here $(1,0,0)-(0,1,0)$.
# PyTorch's `F.cross_entropy` works in the same way; it takes logits and class numbers.

# %%
# check 4.5-C2: scores (1000, 0, 0), class 1
label = torch.tensor([1])
for function in (lambda o: -log_softmax(o)[0, 1],
                 lambda o: F.cross_entropy(o, label)):
    o = torch.tensor([[1000.0, 0.0, 0.0]], requires_grad=True)
    loss = function(o)
    loss.backward()
    assert loss.item() == 1000 and o.grad.tolist() == [[1, -1, 0]]
assert formed_loss.isinf() and formed_grad.isnan().any()

# %% [markdown]
# ### The loss of all classifiers
#
# One method gives this loss to every `Classifier`.
# Like `accuracy` it flattens all axes but the last: scores $(n,T,q)$ with labels $(n,T)$, such as a class for each of $T$ words, are averaged over all $nT$ of them.
# With `averaged=False` it returns one loss per label.

# %% tags=["export"]
@add_to_class(Classifier)
def loss(self, Y_hat, Y, averaged=True):
    """Cross-entropy of logits Y_hat (n, ..., q) for labels Y (n, ...).

    The mean over all labels, or with `averaged=False` one loss per label:
    a vector of length Y.numel(). Logits are scores, not probabilities.
    """
    if Y.shape != Y_hat.shape[:-1]:
        raise ValueError(f"scores of shape {tuple(Y_hat.shape)} need labels "
                         f"of shape {tuple(Y_hat.shape[:-1])}, "
                         f"got {tuple(Y.shape)}.")
    Y_hat = Y_hat.reshape(-1, Y_hat.shape[-1])  # (N, q)
    return F.cross_entropy(Y_hat, Y.reshape(-1),
                           reduction="mean" if averaged else "none")

# %%
# check 4.5-C5: leading axes, both reductions, and the formula of 4.1
g = torch.Generator().manual_seed(0)
O = torch.randn(5, 7, 10, generator=g)  # (n, T, q)
Y = torch.randint(10, (5, 7), generator=g)  # (n, T)
each = model.loss(O, Y, averaged=False)
assert each.shape == (35,)
close(model.loss(O, Y), each.mean())
close(each, F.nll_loss(log_softmax(O).reshape(35, 10), Y.reshape(35),
                       reduction="none"))
close(each.reshape(5, 7), cross_entropy_from_logits(O, one_hot(Y, 10)))
try:
    model.loss(O, Y.unsqueeze(-1))
    raise AssertionError("labels (n, T, 1) were accepted")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# PyTorch has a loss for each form of the output.
# Of the four in the table only the last can notice that it was given another form: it refuses numbers outside [0, 1].
#
# | loss | expects | inside |
# | --- | --- | --- |
# | `F.cross_entropy` | logits | softmax |
# | `F.nll_loss` | log-probabilities | none |
# | `F.binary_cross_entropy_with_logits` | logits, one per yes-or-no question | sigmoid |
# | `F.binary_cross_entropy` | probabilities, one per question | none |
#
# `F.nll_loss` returns the negative of what it finds at the place of the label, averaged.
# Given probabilities it returns numbers between $-1$ and 0.
# Given log-probabilities, it is never negative; so a negative value is a sure sign that it got something else.
# Passing log-probabilities to `F.cross_entropy` does no harm: their log-sum-exp is $\log\sum_k\hat y_k=\log1=0$, so a second `log_softmax` changes nothing.

# %%
scores, labels = O.reshape(35, 10), Y.reshape(35)
confused = F.nll_loss(torch.softmax(scores, dim=-1), labels)
print(f"probabilities in nll_loss: {confused:.4f}")
assert -1 <= confused < 0
for answer in (-0.5, 1.5):
    try:
        F.binary_cross_entropy(torch.tensor([answer]), torch.ones(1))
        raise AssertionError(f"{answer} was accepted as a probability")
    except RuntimeError as error:
        print("RuntimeError:", error)
close(F.cross_entropy(log_softmax(scores), labels),
      F.cross_entropy(scores, labels))

# %% [markdown]
# ## Training
#
# Optimizer, trainer and number of epochs are those of [Section 4.4](04-softmax-regression-scratch.ipynb).
# To save time we take 10 000 images, with smaller batches and a smaller learning rate; the profile `gpu` takes all 60 000, with the batches of 256 and the rate of 0.1 of the main run there.
# A generator fixes the order of the batches, so that several models can be given the same ones.
# Before the run we keep a copy of the weights for the comparison that follows.

# %%
def train(model, display=False):
    """Fit a model to the batches of seed 0; returns the history."""
    data.generator = torch.Generator().manual_seed(0)
    model.board.display = display
    trainer = Trainer(max_epochs, num_gpus=num_gpus)
    trainer.fit(model, data)
    return trainer.history


torch.manual_seed(0)
concise = SoftmaxRegression(num_outputs=10, lr=lr)
concise(X)  # the first batch creates the parameters
start = {name: value.clone() for name, value in concise.state_dict().items()}
history = train(concise, display=True)

# %% [markdown]
# **Figure 4.5.3.** Training with the layers of PyTorch: both losses fall together, the accuracy rises and flattens.

# %%
largest = predict(concise, data.val_dataloader())[0].max().item()
print(f"training loss       {history['train_loss'][-1]:.3f}")
print(f"largest score       {largest:.2f}")
print(f"validation accuracy {history['val_acc'][-1]:.3f}")

# %%
# check 4.5-C7: loss and accuracy as in Section 4.4 (real images only)
setting = (train_size, val_size, batch_size, lr, max_epochs)
small = (10_000, 2_000, 64, 0.02, 10)
full = (60_000, 10_000, 256, 0.1, 10)
if data.source == "real" and setting == small:
    assert 0.55 < history["train_loss"][-1] < 0.59
    assert 0.77 < history["val_acc"][-1] < 0.84
    assert 9 < largest < 13  # exp overflows at 11 in float16
if data.source == "real" and setting == full:
    assert 0.44 < history["train_loss"][-1] < 0.455
    assert 0.79 < history["val_acc"][-1] < 0.86
assert history["train_loss"][-1] < history["train_loss"][0] < 2.4

# %% [markdown]
# ### Are the two implementations the same?
#
# Similar accuracies prove little.
# If the model from scratch starts from the same weights and sees the same batches, all its parameters must stay equal, up to rounding.
# `nn.Linear` keeps its weights as `(outputs, inputs)`, so the matrix must be transposed.

# %%
def scratch_copy(state):
    """The model of Section 4.4 with the weights of a concise one."""
    scratch = SoftmaxRegressionScratch(784, 10, lr)
    with torch.no_grad():
        scratch.W.copy_(state["net.1.weight"].mT)  # (10, 784) -> (784, 10)
        scratch.b.copy_(state["net.1.bias"])  # (10,)
    return scratch


def sgd_steps(model, batches):
    """One update of the model for each batch."""
    optim = model.configure_optimizers()
    for X, y in batches:
        loss = model.loss(model(X), y)
        optim.zero_grad()
        loss.backward()
        optim.step()

# %%
# check 4.5-C6: equal weights and batches, 20 steps, equal parameters
data.generator = torch.Generator().manual_seed(1)
batches = list(itertools.islice(data.train_dataloader(), 20))
other = SoftmaxRegression(num_outputs=10, lr=lr)
other.load_state_dict(start)
scratch = scratch_copy(start)
for each in (scratch, other):
    sgd_steps(each, batches)
close(scratch.W, other.net[1].weight.mT, rtol=0, atol=1e-5)
close(scratch.b, other.net[1].bias, rtol=0, atol=1e-5)
moved = (other.net[1].weight - start["net.1.weight"]).abs().max()
assert moved > 1e-2  # the steps did something

# %%
scratch_history = train(scratch_copy(start))
epochs = range(1, max_epochs + 1)

# %% tags=["hide-input"]
ax = plt.subplots(figsize=(5.4, 3))[1]
for key, color, name in (("train_loss", "C0", "training"),
                         ("val_loss", "C1", "validation")):
    ax.plot(epochs, scratch_history[key], color=color, lw=6, alpha=0.35,
            label=f"{name}, 4.4")
    ax.plot(epochs, history[key], "o--", color=color, ms=3, lw=1.2,
            label=f"{name}, 4.5")
ax.set(xlabel="epoch", ylabel="loss")
ax.legend()
d2l.describe(ax, """Training and validation loss over the epochs for the
    model from scratch, wide pale lines, and the concise model, dashed lines
    with dots. The dots lie in the middle of the wide lines throughout.""")

# %% [markdown]
# **Figure 4.5.4.** The losses of Sections 4.4 and 4.5 from the same start and the same batches: the dashed lines lie on the wide ones.

# %%
for key in ("train_loss", "val_loss"):
    close(torch.tensor(history[key]), torch.tensor(scratch_history[key]),
          rtol=0, atol=1e-4)

# %% [markdown]
# So the long program and the short one are the same program, as long as no probability comes near the edge of the number format.
# Beyond the edge only the short one works.
# A library hides such edges, and someone who has not seen them will hardly recognize one when it returns.
# The next part is about an error that is easy to make because the softmax is hidden so well.

# %% [markdown]
# ## One softmax too many
#
# A classifier predicts probabilities, so it seems natural to end the model with a softmax layer.
# The loss then applies its own softmax to these probabilities.
# The program runs, the loss falls, and the accuracy rises.

# %%
class DoubleSoftmax(SoftmaxRegression):
    """The pitfall: probabilities where the loss expects logits."""

    def forward(self, X):
        return torch.softmax(self.net(X), dim=-1)  # (n, 10)


torch.manual_seed(0)
double = DoubleSoftmax(num_outputs=10, lr=lr)
double(X)
double.load_state_dict(start)
double_history = train(double)
print("              concise  double softmax")
for key in ("train_loss", "val_loss", "val_acc"):
    print(f"{key:12}{history[key][-1]:9.3f}{double_history[key][-1]:16.3f}")

# %% [markdown]
# What can this loss reach?
# The scores that the loss receives are now probabilities $p_k$.
# They sum to 1, so the best that the model can do is to put everything on the true class, $p_y=1$ and $p_k=0$ otherwise.
# With (4.5.3) its loss is
#
# $$
# l_{\min} = \log\bigl(e^1+(q-1)e^0\bigr)-1 = \log\bigl(1+(q-1)e^{-1}\bigr), \tag{4.5.4}
# $$
#
# where $q$ is the number of classes.
# A perfect and perfectly confident model still pays this floor, 1.4612 for $q=10$; a perfectly wrong one pays exactly 1 more, so the whole range of the loss is one unit wide.

# %%
floor = math.log(1 + 9 / math.e)

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
runs = (("concise", history, "-"), ("double softmax", double_history, "--"))
for label, run, style in runs:
    left.plot(epochs, run["train_loss"], style, label=label)
    right.plot(epochs, run["val_acc"], style, label=label)
left.axhline(floor, color="black", ls=":", lw=1.2)
left.text(max_epochs, floor - 0.03, "floor of double softmax", ha="right",
          va="top", fontsize=9)
left.set(xlabel="epoch", ylabel="training loss", ylim=(0, 2.4))
right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
right.legend(loc="lower right")
d2l.describe((left, right), """Left: the training loss of the right model
    falls well below 1; with a double softmax it falls slowly and stays above
    the dotted floor at 1.46. Right: the validation accuracy of the double
    softmax stays clearly below that of the right model.""")

# %% [markdown]
# **Figure 4.5.5.** One softmax too many: the loss cannot fall below the dotted line, and the accuracy lags behind although nothing reports an error.

# %%
# check 4.5-C8: never below the floor; worse by 0.05 or more
assert abs(floor - 1.4612) < 5e-5
for key in ("train_loss", "val_loss"):
    assert floor < min(double_history[key])
    assert max(double_history[key]) < floor + 1
assert double_history["train_loss"][-1] > history["train_loss"][-1] + 0.05
if data.source == "real" and setting == small:
    assert 1.80 < double_history["train_loss"][-1] < 1.95
    assert 0.50 < double_history["val_acc"][-1] < 0.73
    assert double_history["val_acc"][-1] < history["val_acc"][-1] - 0.05
if data.source == "real" and setting == full:
    assert 1.68 < double_history["train_loss"][-1] < 1.80
    assert double_history["val_acc"][-1] < history["val_acc"][-1] - 0.02

# %% [markdown]
# A floor by itself would be harmless, since a constant has no gradient.
# The damage is that the gradient now passes through the additional softmax, which is flat wherever it is confident.
# Take the scores $(m,0,\dots,0)$ with the true class 1, a mistake made with confidence that grows with $m$.
# The right loss then pulls with a force close to 1; the doubled one lets go, like the squared error on probabilities in [Section 4.1](01-softmax-regression.ipynb).

# %%
def pull(m, double):
    """Largest entry of the gradient for a mistake of margin m."""
    o = torch.zeros(1, 10, dtype=torch.float64)
    o[0, 0] = m
    o.requires_grad_()
    scores = torch.softmax(o, dim=-1) if double else o
    F.cross_entropy(scores, torch.tensor([1])).backward()
    return o.grad.abs().max().item()


print("margin   right  double softmax")
for m in (0, 2, 5, 10, 20):
    print(f"{m:6}{pull(m, False):8.3f}{pull(m, True):16.2e}")
assert pull(10, False) > 0.99 and pull(10, True) < 1e-3
assert pull(20, True) < 1e-3 * pull(10, True)

# %% [markdown]
# The gradient shows where the force goes.
# By the chain rule, with $\mathbf{p}=\operatorname{softmax}(\mathbf{o})$ and the gradient $\mathbf{g}=\operatorname{softmax}(\mathbf{p})-\mathbf{y}$ of the loss with respect to $\mathbf{p}$,
#
# $$
# \frac{\partial l}{\partial o_j} = p_j\Bigl(g_j-\sum_{k=1}^qp_kg_k\Bigr), \tag{4.5.5}
# $$
#
# where $\mathbf{o},\mathbf{p},\mathbf{g}\in\mathbb{R}^q$ and $\mathbf{y}$ is the one-hot label.
# For the margin $m=10$ above, the true class has $p_1\approx e^{-10}$, about $4.5\cdot10^{-5}$, and no $g_k$ exceeds 1.
# The factor $p_j$ does the harm: a class with little probability has little gradient to win it back.
# At the start, where all $p_j=\frac1{10}$, the gradient is simply ten times smaller than the right one, so training is slower too.
# To tell the two effects apart, we train the doubled model for 60 epochs instead of 10, and with ten times the learning rate for 20 epochs, from six starts with an order of the batches each.
# We list the classes that are answered for less than 1 % of the validation images after each of the last ten epochs.
# The right model at the larger rate is the control.

# %%
o = torch.tensor([4.0, -1.0, 0.5], dtype=torch.float64)  # (3,)
o.requires_grad_()
p, target = torch.softmax(o, dim=0), torch.tensor([0.0, 1.0, 0.0])
F.cross_entropy(p, torch.tensor(1)).backward()
g = torch.softmax(p, dim=0) - target
close(o.grad, p * (g - (p * g).sum()))

# %%
def lost_classes(model, epochs):
    """Train on; per epoch the classes hardly answered, and accuracy."""
    rows = []
    for _ in range(epochs):
        Trainer(1, num_gpus=num_gpus).fit(model, data)
        scores, labels = predict(model.cpu(), data.val_dataloader())
        share = scores.argmax(dim=1).bincount(minlength=10) / len(labels)
        rows.append(((share < 0.01).nonzero().flatten().tolist(),
                     model.accuracy(scores, labels).item()))
    return rows


def rerun(kind, rate, seed, epochs):
    """Train from a start; accuracies, and classes lost at the end."""
    torch.manual_seed(seed)
    data.generator = torch.Generator().manual_seed(seed)
    model = kind(num_outputs=10, lr=rate)
    model(X)
    model.board.display = False
    rows = lost_classes(model, epochs)
    lost = set.intersection(*(set(lost) for lost, _ in rows[-max_epochs:]))
    print(f"{kind.__name__:18} lr {rate:<5g}start {seed}, {epochs} epochs: "
          f"accuracy {rows[-1][1]:.3f}, lost: "
          + (", ".join(data.text_labels(sorted(lost))) or "none"))
    return rows, lost


slow, slow_lost = rerun(DoubleSoftmax, lr, 0, 6 * max_epochs)
fast = [rerun(DoubleSoftmax, 10 * lr, seed, 2 * max_epochs)
        for seed in range(6)]
control = rerun(SoftmaxRegression, 10 * lr, 0, 2 * max_epochs)
print("slow run, early:", *(
    f"epoch {k}: {', '.join(data.text_labels(slow[k - 1][0])) or 'none'};"
    for k in (2, 10)))

# %%
if data.source == "real" and setting == small:
    assert abs(slow[9][1] - double_history["val_acc"][-1]) < 1e-3
    assert len(slow[1][0]) >= 3 > len(slow_lost)  # classes come back
    assert slow_lost == {6}  # all but shirt
    assert slow[-1][1] > slow[9][1] + 0.05  # and the accuracy rises,
    assert slow[-1][1] < history["val_acc"][-1] - 0.01  # not far enough
    losses = [lost for _, lost in fast]
    curves = {tuple(acc for _, acc in rows) for rows, _ in fast}
    assert len(curves) == 6  # six different runs
    assert set.union(*losses) == {4, 6}  # coat and shirt
    assert sum(map(bool, losses)) >= 5 and losses.count({4, 6}) >= 3
    for rows, lost in fast:
        assert len(rows[1][0]) < len(slow[1][0])  # fewer, early
        assert lost != {4, 6} or rows[-1][1] < history["val_acc"][-1] - 0.04
    answers = predict(concise, data.val_dataloader())[0].argmax(dim=1)
    assert answers.bincount(minlength=10).min() > 0.01 * len(answers)
    assert not control[1]
o = torch.zeros(10, dtype=torch.float64, requires_grad=True)
target = torch.tensor(0)
right, = torch.autograd.grad(F.cross_entropy(o, target), o)
doubled, = torch.autograd.grad(F.cross_entropy(o.softmax(0), target), o)
close(doubled, right / 10)  # at the start

# %% [markdown]
# Within the first epochs several classes are lost, each of which costs almost a tenth of the images.
# Most of them recover slowly, *shirt* not within 60 epochs, and then the doubled model is still behind the right one after 10.
# Ten times the rate makes up for the smaller gradient at the start, and fewer classes are lost.
# But *shirt*, *coat* or both are lost throughout the second half of the 20 epochs in at least five of the six runs, and both together cost several points of accuracy.
# Which ones depends on the start and on the order of the batches.
# The right model jumps too at this rate, with a last batch of 16 images ([Section 4.4](04-softmax-regression-scratch.ipynb)), but no class stays lost throughout its last ten epochs.
# So a larger rate repairs the speed, but within 20 epochs it repairs the defect in at most one of the six runs; in a much longer run a lost class may still return, as some did in the slow run.
#
# How would one notice?
# Not by the first loss: an untrained model starts near $\log10$ in both cases.
# A good test for any classifier is to train it on a single small batch, again and again.
# A linear model with more inputs than examples can usually learn the batch by heart, so its loss should approach 0.

# %%
for model_class in (SoftmaxRegression, DoubleSoftmax):
    torch.manual_seed(0)
    model = model_class(num_outputs=10, lr=0.1)
    batch = X[:64], y[:64]
    first = model.loss(model(batch[0]), batch[1]).item()
    sgd_steps(model, [batch] * 300)
    last = model.loss(model(batch[0]), batch[1]).item()
    print(f"{model_class.__name__:18} first loss {first:.2f}, "
          f"after 300 steps {last:.2f}")
    assert abs(first - math.log(10)) < 0.3
    assert (last > floor) == (model_class is DoubleSoftmax)
    assert last < 0.3 or model_class is DoubleSoftmax

# %% [markdown]
# Where probabilities are wanted, for a report or for the decisions of [Section 4.3](03-base-classification-model.ipynb), apply `torch.softmax` to the logits after the model.
# For the most likely class not even this is needed.

# %% [markdown]
# ## Summary
#
# - In `float32` the exponential overflows above 88.7, loses digits below $-87.3$ and is 0 below $-104$; in `float16` the range is from about $-17$ to 11, one reason why autocast keeps the loss in `float32`.
# - Subtracting the largest score makes the softmax safe, but its logarithm may still be infinite, with a gradient of nan.
# - The loss is therefore computed as log-sum-exp minus the score of the true class, and no probability is ever formed; so models return logits.
# - The model from scratch and the concise one agree to rounding, step by step, when weights and batches agree.
# - A softmax before `F.cross_entropy` raises no error: the loss stays above $\log(1+(q-1)/e)$, confident mistakes get almost no gradient, and whole classes are lost for many epochs, also at a larger learning rate.
# - Training on a single small batch finds such errors: its loss should come close to 0.

# %% [markdown]
# ## Exercises
#
# ### Exercise 4.5-1
#
# Derive the floor (4.5.4) for any $q$: show that no probabilities $p_1,\dots,p_q$ give a smaller loss than those with $p_y=1$.
# What is the floor for two classes, and what happens to it as $q$ grows?

# %% [markdown]
# #### Solution 4.5-1

# %% [markdown]
# The loss is $f(\mathbf{p})=\log\sum_ke^{p_k}-p_y$.
# Keep $p_y=p$ fixed first.
# The other entries sum to $1-p$, and since $\exp$ is convex, $\sum_{k\ne y}e^{p_k}\ge(q-1)e^{(1-p)/(q-1)}$: equal entries are best.
# Hence $f\ge h(p)=\log\left(1+(q-1)\exp\left(\frac{1-p}{q-1}-p\right)\right)$.
# The exponent falls with $p$, so $h$ is smallest at $p=1$, where it is $\log(1+(q-1)e^{-1})$.
#
# For $q=2$ the floor is $\log(1+1/e)=0.3133$.
# For large $q$ it is about $\log q-1$: measured against the $\log q$ of guessing, all that can be learned is one unit.

# %%
g = torch.Generator().manual_seed(0)
for q in (2, 3, 10, 1000):
    formula = math.log(1 + (q - 1) / math.e)
    perfect = one_hot(torch.tensor([0]), q).double()
    label = torch.tensor([0])
    close(F.cross_entropy(perfect, label).item(), formula)
    noise = torch.randn(20_000 // q, q, generator=g, dtype=torch.float64)
    P = torch.softmax(20 * noise, dim=-1)
    losses = F.cross_entropy(P, label.expand(len(P)), reduction="none")
    assert losses.shape == (len(P),)
    assert (losses >= formula - 1e-12).all()
    assert (losses <= formula + 1 + 1e-12).all()
    print(f"q = {q:4}: floor {formula:.4f}, guessing {math.log(q):.4f}")

# %% [markdown]
# ### Exercise 4.5-2
#
# Check C4 searched for the limits of $\exp$ with arguments in `float64`.
# Find the largest argument *of the type itself* whose exponential is finite.
# Why is it so far from the limit for `bfloat16`?

# %% [markdown]
# #### Solution 4.5-2

# %% [markdown]
# The limit is rounded to the type; while the rounded value exceeds the limit or its exponential overflows, we take the next smaller number.

# %%
for dtype in dtypes:
    top = bisect(lambda x: stored(x, dtype).isfinite(), 0.0, 1000.0)
    own = torch.tensor(top, dtype=dtype)  # rounded, perhaps upwards
    while own.double() > top or own.exp().isinf():
        own = torch.nextafter(own, torch.zeros((), dtype=dtype))
    above = torch.nextafter(own, torch.tensor(torch.inf, dtype=dtype))
    assert own.exp().isfinite() and above.exp().isinf()
    print(f"{str(dtype):15} inf above {top:.4f}, largest own argument "
          f"{own.item():.4f}, next {above.item():.4f}")

# %% [markdown]
# A `bfloat16` has 8 significant bits, so between 64 and 128 its numbers are 0.5 apart: after 88.5 comes 89, and $e^{89}$ is too large.

# %% [markdown]
# ### Exercise 4.5-3
#
# Suppose an accelerator uses 8 bits per number.
# Instead of an integer, let the byte be a *logarithmic code*: one bit for the sign and a whole number $k$ that stands for $2^{k/8}$.
# What does multiplication become?
# What happens to addition, and where have you seen the formula before?
# Simulate the addition of a thousand ones.

# %% [markdown]
# #### Solution 4.5-3

# %% [markdown]
# Multiplication becomes the addition of codes, $2^{i/8}\cdot2^{j/8}=2^{(i+j)/8}$, exact and much cheaper in hardware; powers and roots become cheap too.
# A rounded number is wrong by at most a factor of $2^{1/16}$, about 4 %, whatever its size, so the range is large.
#
# Addition is the hard part.
# With $i\ge j$,
# $\log_2(2^{i/8}+2^{j/8})=\frac i8+\log_2(1+2^{-(i-j)/8})$: the larger one plus a correction that depends on the difference alone.
# This is log-sum-exp with its shift, in base 2.
# A small table holds the correction; it is 0 once the difference exceeds 35, and the smaller number vanishes.
# Sums of many small terms, such as matrix products, therefore stall, and accelerators keep the sums in a wider format.
# Subtraction has $\log_2(1-2^{-(i-j)/8})$, which is inaccurate if the numbers are nearly equal.

# %%
correction = [round(8 * math.log2(1 + 2 ** (-d / 8))) for d in range(128)]


def add(i, j):
    """Code of the sum of two positive numbers with the codes i and j."""
    return max(i, j) + correction[abs(i - j)]


assert 2 ** (5 / 8) * 2 ** (-3 / 8) == 2 ** ((5 - 3) / 8)
assert add(0, 0) == 8  # 1 + 1 = 2
assert correction[35] == 1 and not any(correction[36:])
total = 0  # the code of 1
for _ in range(999):
    total = add(total, 0)
print(f"a thousand ones: {2 ** (total / 8):.1f}")
assert total == 36

# %% [markdown]
# ### Exercise 4.5-4
#
# Two examples, $x=-1$ of class 0 and $x=1$ of class 1, and the model $\mathbf{o}=x\mathbf{w}$ with $\mathbf{w}\in\mathbb{R}^2$ and no bias.
# Train it from $\mathbf{w}=\mathbf{0}$ with all data in each step and the learning rate 1.
# Where do loss and weights go?
# Print the loss in step 10, 100, 1000 and 10 000 together with the norm of $\mathbf{w}$, and explain what you find.

# %% [markdown]
# #### Solution 4.5-4

# %% [markdown]
# Both examples have the same margin $m=w_2-w_1$ and the loss $\log(1+e^{-m})$, positive for every finite $m$: there is no minimum, only the infimum 0.
# The gradient shrinks as the model becomes certain; a step adds $2/(1+e^m)\approx2e^{-m}$ to the margin.
# So $\frac{d}{dt}e^m\approx2$, hence $e^m\approx2t$ and the loss is about $1/(2t)$.
# The margin grows like $\log t$, by $\log10$ for each factor of ten, and with $\|\mathbf{w}\|=m/\sqrt2$ the norm grows by $\log(10)/\sqrt2\approx1.628$.
# On separable data the loss keeps falling; weight decay or stopping must decide how far to go.

# %%
x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)  # (2, 1)
label = torch.tensor([0, 1])
w = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
norms = []
expected = {10: 0.0524, 100: 0.00502, 1000: 0.000500, 10_000: 0.0000500}
for step in range(1, 10_001):
    loss = F.cross_entropy(x @ w, label)  # (2, 1) @ (1, 2) -> (2, 2)
    if step in expected:
        norms.append(torch.linalg.vector_norm(w).item())
        print(f"step {step:6}: loss {loss:.7f}, norm {norms[-1]:.3f}")
        assert abs(loss.item() / expected[step] - 1) < 2e-3
    grad, = torch.autograd.grad(loss, w)
    with torch.no_grad():
        w -= grad
growth = torch.tensor(norms).diff()
assert ((growth - math.log(10) / 2**0.5).abs() < 0.05).all()

# %% [markdown]
# ### Exercise 4.5-5
#
# The validation accuracy of a model rises at first and then falls, while its training loss goes on falling.
# Give two reasons.
# Then produce the effect: train on 500 images, 30 % of them with random labels, and watch.
# Which of your reasons is at work?

# %% [markdown]
# #### Solution 4.5-5

# %% [markdown]
# With few examples the model learns by heart what is peculiar to them, including their errors.
# What many examples of a class share pulls in the same direction in every batch and is learned first; a wrong label has mostly its own example to pull with and is learned late.
# The second reason is that the loss is not the accuracy.
# On separable data it keeps falling by making the model more confident (Exercise 4.5-4), and this may cost a few validation images at the boundary.
#
# A control tells the two apart: the same 500 images with their right labels.
# The optimizer below, Adam, is a fast relative of gradient descent from Section 12.10.

# %%
few = FashionMNIST(train_size=500, val_size=2000)
g = torch.Generator().manual_seed(0)
noisy = few.y_train.clone()
wrong = torch.rand(500, generator=g) < 0.3
noisy[wrong] = torch.randint(10, (int(wrong.sum()),), generator=g)
wrong = noisy != few.y_train  # some random labels are right


def watch(labels, steps=600):
    """Every 10 steps: training loss, share of the wrong labels learned,
    accuracy and loss on new images; (steps / 10, 4)."""
    torch.manual_seed(0)
    model = SoftmaxRegression(num_outputs=10, lr=0.01)
    model(few.X_val[:1])
    optim, rows = torch.optim.Adam(model.parameters(), lr=0.01), []
    for step in range(steps):
        loss = model.loss(model(few.X_train), labels)
        optim.zero_grad()
        loss.backward()
        optim.step()
        if step % 10 == 9:
            with torch.no_grad():
                learned = model(few.X_train[wrong]).argmax(1) == noisy[wrong]
                new = model(few.X_val)
                rows.append((loss.item(), learned.double().mean(),
                             model.accuracy(new, few.y_val),
                             model.loss(new, few.y_val)))
    return torch.tensor(rows)

# %%
watched = {"30 % wrong": watch(noisy), "all right": watch(few.y_train)}
print("labels       step  loss  wrong learned  new: accuracy  loss")
for name, rows in watched.items():
    for i in (rows[:, 2].argmax().item(), len(rows) - 1):
        loss, learned, acc, new_loss = rows[i].tolist()
        print(f"{name:11}{10 * i + 10:6}{loss:6.2f}{learned:15.2f}"
              f"{acc:15.3f}{new_loss:6.2f}")

# %%
bad, good = watched.values()
best = bad[:, 2].argmax()
assert bad[-1, 2] < bad[best, 2] - 0.05 and bad[-1, 0] < 0.3 < bad[5, 0]
if few.source == "real":
    assert bad[best, 1] < 0.3 and bad[-1, 1] > 0.95  # learned late
    assert good[-1, 2] > good[:, 2].max() - 0.015  # the control
    assert good[-1, 0] < 0.05 and good[-1, 3] > good[:, 3].min() + 0.1

# %% [markdown]
# With right labels the training loss falls even lower, and the accuracy on new images hardly moves: here the fall comes from the wrong labels.
# At the best step the model has learned few of them, at the end nearly all.
# The second reason shows in another number, the *loss* on new images, which rises with right labels too, since the model grows more certain of its wrong answers.
#
# The remedy is to stop at the best validation result (early stopping, [Section 5.5](../05-multilayer-perceptrons/05-generalization-deep-learning.ipynb)), or to limit the weights as in [Section 3.7](../03-linear-regression/07-weight-decay.ipynb).

# %% [markdown]
# ### Exercise 4.5-6
#
# For two classes one score would do.
# Show that the two-class cross-entropy of the logits $(o_0,o_1)$ equals `BCEWithLogitsLoss` of the difference $o_1-o_0$, for moderate and for extreme scores, and that the gradients agree too.

# %% [markdown]
# #### Solution 4.5-6

# %% [markdown]
# Softmax is invariant to a common shift, so $(o_0,o_1)$ and $(0,o_1-o_0)$ give the same probabilities, and $\hat y_1$ is the sigmoid of the difference $d=o_1-o_0$.
# The loss is $-\log\sigma(d)$ for the class 1 and $-\log(1-\sigma(d))$ for the class 0: the binary cross-entropy.
# Its stable form is $\max(d,0)-dy+\log(1+e^{-|d|})$, which is (4.5.3) for the scores $(0,d)$.

# %%
g = torch.Generator().manual_seed(0)
binary = nn.BCEWithLogitsLoss()
label = torch.randint(2, (100,), generator=g)
for scale in (1, 1000):
    o = scale * torch.randn(100, 2, generator=g)  # (n, 2)
    o.requires_grad_()
    two = F.cross_entropy(o, label)
    one = binary(o[:, 1] - o[:, 0], label.float())
    close(two, one)
    close(torch.autograd.grad(two, o), torch.autograd.grad(one, o),
          rtol=1e-4, atol=1e-7)
    d = (o[:, 1] - o[:, 0]).detach()
    by_hand = d.clamp(min=0) - d * label + torch.log1p(torch.exp(-d.abs()))
    close(one.detach(), by_hand.mean())

# %% [markdown]
# ### Exercise 4.5-7
#
# [Section 4.4](04-softmax-regression-scratch.ipynb) ended with a model that is overconfident after long training on 500 images; this one is trained still longer.
# Compare two remedies on it: *label smoothing*, `F.cross_entropy(..., label_smoothing=0.1)`, and *temperature scaling*, which divides the logits of the trained model by a number $T$ chosen on held-out images.
# Measure accuracy, loss and calibration error on new images.

# %% [markdown]
# #### Solution 4.5-7

# %% [markdown]
# Temperature scaling keeps the order of the scores, hence the accuracy, and here it removes most of the calibration error.
# It needs labelled images that were not used for training; 1000 test images serve for it, and the other 9000 for the measurement.
#
# In this run smoothing lowers the calibration error only a little, from overconfidence to underconfidence (its best temperature is below 1), and it costs accuracy and loss.
# It was proposed for deep networks on large data sets, where gains in accuracy and calibration have been reported (Szegedy et al. 2016, Müller et al. 2019); our setting, a linear model on 500 images, is another.

# %%
class Smoothed(SoftmaxRegression):
    """Softmax regression with smoothed labels in training."""

    smoothing = 0.1

    def loss(self, Y_hat, Y):
        return F.cross_entropy(Y_hat, Y, label_smoothing=self.smoothing)


few = FashionMNIST(batch_size=50, train_size=500, val_size=100)
new = FashionMNIST(train_size=1)
table = {}
for name, smoothing in (("plain", 0.0), ("smoothed", 0.1)):
    torch.manual_seed(0)
    model = Smoothed(num_outputs=10, lr=0.1)
    model.smoothing, model.board.display = smoothing, False
    model(X)
    Trainer(600).fit(model, few)
    O, Y = predict(model, new.val_dataloader())
    fit, rest = (O[:1000], Y[:1000]), (O[1000:], Y[1000:])
    T = min(torch.logspace(-1, 1, 81).tolist(),
            key=lambda T: F.cross_entropy(fit[0] / T, fit[1]).item())
    for label, t in ((name, 1.0), (f"{name}, T = {T:.2f}", T)):
        table[label] = row = (
            model.accuracy(*rest).item(),
            F.cross_entropy(rest[0] / t, rest[1]).item(),
            calibration_error((rest[0] / t).softmax(dim=1), rest[1]))
        print(f"{label:18} accuracy {row[0]:.3f}, loss {row[1]:.3f}, "
              f"calibration error {row[2]:.3f}")

# %%
if data.source == "real":
    plain, cooled, smoothed, _ = table.values()
    assert plain[2] > 0.07 and cooled[2] < plain[2] / 2
    assert cooled[0] == plain[0] and cooled[1] < plain[1] - 0.05
    assert smoothed[0] < plain[0] and smoothed[1] > plain[1] and T < 1
    assert plain[2] / 2 < smoothed[2] < plain[2]  # only a little

# %% [markdown]
# ## Sources
#
# - P. Blanchard, D. J. Higham, N. J. Higham (2021). Accurately computing the log-sum-exp and softmax functions. IMA Journal of Numerical Analysis 41(4). [doi:10.1093/imanum/draa038](https://doi.org/10.1093/imanum/draa038): rounding errors of the shifted formulas.
# - IEEE 754-2019, Standard for Floating-Point Arithmetic. [doi:10.1109/IEEESTD.2019.8766229](https://doi.org/10.1109/IEEESTD.2019.8766229): normal and subnormal numbers, infinity, nan.
# - D. Kalamkar et al. (2019). A study of BFLOAT16 for deep learning training. [arXiv:1905.12322](https://arxiv.org/abs/1905.12322).
# - D. Soudry, E. Hoffer, M. S. Nacson, S. Gunasekar, N. Srebro (2018). The implicit bias of gradient descent on separable data. Journal of Machine Learning Research 19. [arXiv:1710.10345](https://arxiv.org/abs/1710.10345): the rates of Exercise 4.5-4.
# - D. Arpit et al. (2017). A closer look at memorization in deep networks. [arXiv:1706.05394](https://arxiv.org/abs/1706.05394): wrong labels are learned late.
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017). On calibration of modern neural networks. [arXiv:1706.04599](https://arxiv.org/abs/1706.04599): temperature scaling.
# - C. Szegedy et al. (2016). Rethinking the Inception architecture. [arXiv:1512.00567](https://arxiv.org/abs/1512.00567); R. Müller, S. Kornblith, G. Hinton (2019). When does label smoothing help? [arXiv:1906.02629](https://arxiv.org/abs/1906.02629).
# - PyTorch documentation, [Automatic mixed precision](https://docs.pytorch.org/docs/stable/amp.html): which operations autocast runs in `float32`.
# - PyTorch documentation, [CrossEntropyLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html).
