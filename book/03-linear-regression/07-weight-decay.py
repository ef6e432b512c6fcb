# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         num_seeds: 10
#         num_draws: 50
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
# # 3.7 Weight decay
#
# How do we keep a model with more parameters than examples in check without throwing parameters away?
# This section puts a price on large weights, implements it in three ways that turn out to be one, and finds out where its benefit comes from.
#
# **You will**
#
# - add an $\ell_2$ penalty to a loss, and recognize it in the update as a decay of the weights;
# - hand different parameters to the optimizer with different decay;
# - take a well-known experiment apart, and say which part of its improvement is due to the random start;
# - compute the penalized solution in closed form, read it as a filter and as a prior, and predict the best strength of the penalty;
# - say what `weight_decay` means under momentum, Adam and AdamW, where penalty and decay are different methods.
#
# **Cost**: about twenty seconds on a CPU, no download, no use for a GPU.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    DataModule, LinearRegression, LinearRegressionScratch, Module, Trainer)

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
num_seeds = 40  # repetitions of the training experiment
num_draws = 200  # repetitions of the experiment in closed form

# %% [markdown]
# ## Why not fewer features
#
# [Section 3.6](06-generalization.ipynb) controlled a model by the number of its parameters.
# With several variables this knob is coarse.
# The natural features of degree $d$ in $k$ variables are the monomials, products such as $x_1^2x_3$ whose exponents add up to $d$; there are
#
# $$\binom{k-1+d}{k-1} \tag{3.7.1}$$
#
# of them, the number of ways to place $k-1$ separators among $d$ factors.
# For $k=200$ the step from degree 1 to degree 2 adds $\frac{201\cdot200}{2}=20\,100$ parameters at once.
#
# A finer knob leaves all parameters in place and limits their *values*.
# It is the first *regularization* method of this book: a change of the training that is meant to lower the error on new data, even if it raises the error on the training data.

# %% [markdown]
# ## Norms and weight decay
#
# The distance of a function from the zero function, which ignores its input, is one measure of how complicated it is.
# For a linear function $f(\mathbf{x})=\mathbf{w}^\top\mathbf{x}$ the length of $\mathbf{w}$ is an obvious candidate for this distance, and we can say exactly what it controls.
# By the inequality of Cauchy and Schwarz,
#
# $$|f(\mathbf{x})-f(\mathbf{x}')| = |\mathbf{w}^\top(\mathbf{x}-\mathbf{x}')| \le \|\mathbf{w}\|\,\|\mathbf{x}-\mathbf{x}'\|, \tag{3.7.2}$$
#
# where $\mathbf{x}$ and $\mathbf{x}'$ are two inputs of shape $(d,)$, $\mathbf{w}$ the weights of the same shape, and $\|\cdot\|$ the Euclidean length, a number.
# A bias cancels in the difference.
# With small weights, a slightly wrong input changes the output only slightly.
# With large weights, two neighbours can get very different values, which is just what memorizing noisy labels asks for.
# The bound is reached when the two inputs differ in the direction of $\mathbf{w}$.

# %%
# check 3.7-C12: |f(x) - f(x')| <= ||w|| ||x - x'||, equality along w
g = torch.Generator().manual_seed(0)
w = torch.randn(200, 1, generator=g, dtype=f64)
x1, x2 = torch.randn(2, 1000, 200, generator=g, dtype=f64)
change = ((x1 - x2) @ w).abs()[:, 0]  # (1000,)
length = torch.linalg.vector_norm
bound = length(w) * length(x1 - x2, dim=1)
assert (change <= bound).all()
print(f"largest |f(x) - f(x')| / bound: {(change / bound).max():.2f}")
along = x1 + 0.3 * w.T  # differs from x1 in the direction of w
change = ((along - x1) @ w).abs()[:, 0]
torch.testing.assert_close(change, length(w) * length(along - x1, dim=1))

# %% [markdown]
# To keep the weights small we put a price on them and minimize
#
# $$L(\mathbf{w},b)+\frac\lambda2\|\mathbf{w}\|^2, \tag{3.7.3}$$
#
# where $L(\mathbf{w},b)=\frac1n\sum_{i=1}^n\frac12(\mathbf{w}^\top\mathbf{x}^{(i)}+b-y^{(i)})^2$ is the loss over the $n$ training examples, $\|\mathbf{w}\|^2=\sum_jw_j^2$ the squared length of the weights, and $\lambda\ge0$ a number, the strength of the penalty.
# As $\lambda$ grows, the minimizer goes to zero.
# The training loss would always choose $\lambda=0$, so this hyperparameter is chosen on validation data.
#
# The square makes the gradient of the penalty, $\lambda\mathbf{w}$, proportional to $\mathbf{w}$; the $\frac12$ cancels the 2 that differentiation brings down.
# (Some texts print the objective without the square, whose gradient would have the same length however small the weights are; the update below belongs to the square.)
#
# For a minibatch $\mathcal{B}$ one step of gradient descent now reads
#
# $$\mathbf{w} \leftarrow (1-\eta\lambda)\,\mathbf{w}-\frac{\eta}{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\mathbf{x}^{(i)}\left(\mathbf{w}^\top\mathbf{x}^{(i)}+b-y^{(i)}\right), \tag{3.7.4}$$
#
# with the learning rate $\eta>0$ and the number $|\mathcal{B}|$ of examples in the batch.
# The second term is the old step; the first multiplies the weights by a factor below 1, which gives the method its name, *weight decay*.
# For $\eta=0.01$ and $\lambda=3$ the factor is 0.97, and a weight about which the data say nothing is halved every 23 steps.
#
# The bias is usually left alone.
# It shifts all predictions alike, adds nothing to the right side of (3.7.2), and pulling it to zero would make the solution depend on where the labels have their zero (Exercise 3.7-6).

# %% [markdown]
# ### Spreading and selecting
#
# Squares are not the only possible price.
# Least squares with the $\ell_2$ penalty of (3.7.3) is called *ridge regression*; with the $\ell_1$ penalty $\lambda\sum_j|w_j|$ it is the *lasso*.
# Minimizing a loss plus $\lambda$ times such a penalty gives the same point as minimizing the loss alone inside the ball on which the penalty does not exceed its value there.
# The solution is where a growing contour of the loss first touches the ball.

# %%
H = torch.tensor([[1.0, 0.35], [0.35, 0.8]], dtype=f64)  # curvature
best = torch.tensor([1.4, 0.4], dtype=f64)  # minimum of the loss
lam = 0.6
w_l2 = torch.linalg.solve(H + lam * torch.eye(2, dtype=f64), H @ best)
w_l1 = torch.zeros(2, dtype=f64)  # l1: the second weight stays 0
w_l1[0] = best[0] + (H[0, 1] * best[1] - lam) / H[0, 0]
slope = H @ (w_l1 - best)  # of the loss: (-lam, anything up to lam)
assert abs(slope[0] + lam) < 1e-12 and abs(slope[1]) < lam
print(f"l2: ({w_l2[0]:.2f}, {w_l2[1]:.2f})  "
      f"l1: ({w_l1[0]:.2f}, {w_l1[1]:.2f})")

# %% tags=["hide-input"]
def bowl(w):
    """Loss at points w of shape (..., 2)."""
    return ((w - best) @ H * (w - best)).sum(-1) / 2

axis1, axis2 = torch.linspace(-1.2, 2.4, 181), torch.linspace(-1.2, 1.5, 136)
W2, W1 = torch.meshgrid(axis2, axis1, indexing="ij")
surface = bowl(torch.stack((W1, W2), -1).double())  # (136, 181)
angle = torch.linspace(0, 2 * math.pi, 201)
circle = torch.stack((angle.cos(), angle.sin())) * length(w_l2)
diamond = torch.tensor([[1.0, 0, -1, 0, 1], [0, 1, 0, -1, 0]])
fig, axes = plt.subplots(1, 2, figsize=(7, 3.1), sharey=True)
for ax, ball, w, name in ((axes[0], circle, w_l2, r"$\ell_2$"),
                          (axes[1], diamond * w_l1.abs().sum(), w_l1,
                           r"$\ell_1$")):
    ax.fill(*ball, color="C0", alpha=0.25)
    ax.plot(*ball, color="C0")
    touch = bowl(w).item()
    ax.contour(W1, W2, surface, [touch / 9, touch * 4 / 9, touch, touch * 1.7],
               colors=["#999999", "#999999", "C1", "#999999"])
    ax.plot(*best, "k+", ms=9, mew=2)
    ax.plot(*w, "o", color="C1", ms=8)
    ax.set(aspect="equal", xlabel="$w_1$", title=name + " ball")
axes[0].set_ylabel("$w_2$")
d2l.describe(axes, """Two panels with the same elliptic contours around a
    cross. Left a disc, which the orange contour touches at a point where
    both weights are positive. Right a diamond, touched at its right corner,
    where the second weight is zero.""")

# %% [markdown]
# **Figure 3.7.1.** The cross is the minimum of the loss, the orange dot the best point inside the ball.
# The corners of the diamond lie on the axes, and for a wide range of positions of the cross the contour meets a corner first.
#
# For orthonormal features, $\frac1n\mathbf{X}^\top\mathbf{X}=\mathbf{I}$, the difference is a formula.
# The loss is then, up to a constant, $\frac12\|\mathbf{w}-\hat{\mathbf{w}}\|^2$, where $\hat{\mathbf{w}}$ of shape $(d,)$ is the least-squares solution, so each weight can be found on its own:
#
# $$w_j^{\mathrm{ridge}} = \frac{\hat w_j}{1+\lambda},\qquad w_j^{\mathrm{lasso}} = \operatorname{sign}(\hat w_j)\max(|\hat w_j|-\lambda,\,0). \tag{3.7.5}$$
#
# Ridge divides all weights by the same number, and none becomes zero.
# The lasso *subtracts*, which is called the *soft threshold*; a weight smaller than $\lambda$ becomes zero.

# %%
def soft_threshold(w, lam):
    """Nearest to w at the price lam * |.|: shrink by lam, stop at 0."""
    return w.sign() * (w.abs() - lam).clamp(min=0)

w_hat = torch.tensor([3, -0.5, 1.2])
print("ridge:", w_hat / (1 + 1), " lasso:", soft_threshold(w_hat, 1) + 0)

# %% tags=["hide-input"]
# check 3.7-C10: soft threshold and ridge on orthonormal features
lasso = soft_threshold(w_hat, 1)
torch.testing.assert_close(lasso, torch.tensor([2.0, 0, 0.2]))
torch.testing.assert_close(lasso, F.softshrink(w_hat, 1))
g = torch.Generator().manual_seed(0)
Q = torch.linalg.qr(torch.randn(10, 3, generator=g)).Q * 10 ** 0.5
w = w_hat.clone().requires_grad_()
for _ in range(200):  # gradient descent on the penalized loss
    r = Q @ w - Q @ w_hat  # (10,); Q has Q.T @ Q / 10 = I
    grad, = torch.autograd.grad(
        (r ** 2 / 2).mean() + (w ** 2).sum() / 2, w)
    w = (w - 0.2 * grad).detach().requires_grad_()
torch.testing.assert_close(w.detach(), torch.tensor([1.5, -0.25, 0.6]))

# %% [markdown]
# Ridge spreads the weight over features that say the same: two halves cost $2\cdot\frac14=\frac12$ of what one whole costs.
# Exercise 3.7-3 returns to $\ell_1$; the rest of this section is about $\ell_2$.

# %% [markdown]
# ## High-dimensional linear regression
#
# To see a linear model overfit, we give it many inputs and few examples:
#
# $$y = 0.05+\sum_{i=1}^{d}0.01\,x_i+\epsilon,\qquad \epsilon\sim\mathcal{N}(0,0.01^2), \tag{3.7.6}$$
#
# with $d=200$ inputs $x_i$, each drawn from $\mathcal{N}(0,1)$, and noise $\epsilon$, a number.
# There are 20 examples to train on, 100 to validate, and batches of 5.

# %% tags=["export"]
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

# %%
def high_dim_data(seed):
    return HighDimData(num_train=20, num_val=100, num_inputs=200,
                       batch_size=5,
                       generator=torch.Generator().manual_seed(seed))

data = high_dim_data(0)
X, y = next(iter(data.train_dataloader()))
print("a batch: X", tuple(X.shape), " y", tuple(y.shape))
assert len(data.train_dataloader()) == 4 and data.X.shape == (120, 200)

# %% tags=["hide-input"]
# check: the noise, by default and as asked for, and the bias
for options, noise in (({}, 0.01), ({"noise": 0.5}, 0.5), ({"noise": 0}, 0)):
    many = HighDimData(2000, 0, 200, 5, **options,
                       generator=torch.Generator().manual_seed(0))
    eps = many.y - 0.05 - 0.01 * many.X.sum(dim=1, keepdim=True)
    assert abs(eps.std() - noise) <= 0.06 * noise + 1e-6
    assert abs(eps.mean()) <= 0.1 * noise + 1e-6  # the bias is 0.05

# %% [markdown]
# Before we train, two numbers to compare with.
# A model that always predicts 0.05 has the expected half squared error $\frac12(200\cdot0.01^2+0.01^2)=0.01005$.
# The true weights leave only the noise, $\frac12\cdot0.01^2=0.00005$.

# %% [markdown]
# ## Implementation from scratch
#
# The penalty of (3.7.3) without $\lambda$, half the squared length, is one line.

# %% tags=["export"]
def l2_penalty(w):
    """Half the sum of squares of a tensor of any shape, a scalar."""
    return (w ** 2).sum() / 2

# %%
w = torch.tensor([[3.0], [4.0]], requires_grad=True)
assert l2_penalty(w) == 12.5
grad, = torch.autograd.grad(l2_penalty(w), w)
assert torch.equal(grad, w.detach())  # the penalty pulls by w itself

# %% [markdown]
# The model of [Section 3.4](04-linear-regression-scratch.ipynb) needs one change, in its loss.
# The penalty serves the training.
# It says nothing about how good the predictions are, so the validation loss leaves it out; otherwise models with different $\lambda$ would be measured with different rulers.

# %% tags=["export"]
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

# %% [markdown]
# We train for 10 epochs, that is 40 steps, with learning rate 0.01: without decay and with $\lambda=3$, and from two starts, the usual random one and exact zeros.
# Data and batches are the same for all four.
# The start gets a seed of its own: with the seed of the data, nearly all of $\mathbf{w}$ would begin as 0.01 times the first training example.

# %%
def train_scratch(lambd, sigma=0.01, seed=0):
    """A trained model, and its loss for each epoch."""
    data = high_dim_data(seed)
    torch.manual_seed(1000 + seed)  # not the seed of the data
    model = WeightDecayScratch(200, lambd, lr=0.01, sigma=sigma)
    model.board.display = False
    trainer = Trainer(max_epochs=10)
    trainer.fit(model, data)
    return model, trainer.history

settings = {"lambda = 0, random start": (0, 0.01),
            "lambda = 3, random start": (3, 0.01),
            "lambda = 0, zero start": (0, 0),
            "lambda = 3, zero start": (3, 0)}
runs = {name: train_scratch(*setting) for name, setting in settings.items()}
for name, (_, history) in runs.items():
    print(f"{name:25} validation loss {history['val_loss'][-1]:.5f}")

# %% [markdown]
# One seed may be an accident, so we repeat the experiment with many.
# The function below performs the update (3.7.4) for all of them at the same time: the tensors get a leading dimension $s$, one entry for each seed.

# %%
def sgd_path(X, y, w, b, order, lr=0.01, lambd=0, factor=1):
    """Minibatch SGD by (3.7.4) for s seeds at once.

    X (s, n, d), y (s, n, 1), w (s, d, 1), b (s, 1, 1), and `order`
    (steps, s, batch) with row numbers. `factor` multiplies the loss.
    Returns w and b at the start and after each step, (steps + 1, ...).
    """
    seeds, path = torch.arange(len(X))[:, None], [(w, b)]
    for rows in order:
        Xb, yb = X[seeds, rows], y[seeds, rows]  # (s, batch, d or 1)
        r = factor * (Xb @ w + b - yb)  # (s, batch, 1)
        w = (1 - lr * lambd) * w - lr * Xb.mT @ r / rows.shape[1]
        b = b - lr * r.mean(dim=1, keepdim=True)
        path.append((w, b))
    return tuple(map(torch.stack, zip(*path)))

# %% [markdown]
# Each seed gets the data, the start and the order of batches that `train_scratch` uses.

# %%
def prepare(seed, epochs=10):
    """Data, start and batch order of one seed."""
    data = high_dim_data(seed)
    torch.manual_seed(1000 + seed)
    w = LinearRegressionScratch(200, lr=0.01).w.detach()
    rows = data.get_tensorloader((torch.arange(20),), train=True)
    order = torch.stack([index for _ in range(epochs) for index, in rows])
    return data.X, data.y, w, order  # order: (40, 5)

Xs, ys, w0, order = map(torch.stack, zip(*map(prepare, range(num_seeds))))
order = order.transpose(0, 1)  # (40, s, 5)
train, val = (Xs[:, :20], ys[:, :20]), (Xs[:, 20:], ys[:, 20:])
b0 = torch.zeros(num_seeds, 1, 1)

def half_mse(data, w, b):
    """Half the mean squared error for each seed, (..., s)."""
    X, y = data
    return ((X @ w + b - y) ** 2 / 2).mean(dim=(-2, -1))

# %%
results = {}
for name, (lambd, sigma) in settings.items():
    ws, bs = sgd_path(*train, w0 * (sigma > 0), b0, order, lambd=lambd)
    results[name] = {"w": ws[-1], "b": bs[-1],
                     "penalty": (ws[-1] ** 2).sum(dim=(1, 2)) / 2,
                     "train": half_mse(train, ws[::4], bs[::4]),
                     "val": half_mse(val, ws[::4], bs[::4])}  # (11, s)
constant = half_mse(val, 0 * w0, 0.05)  # (s,)
print(f"{'mean over the seeds':25} penalty    training  validation")
for name, r in results.items():
    print(f"{name:25} {r['penalty'].mean():.5f} "
          f"{r['train'][-1].mean():11.1e} {r['val'][-1].mean():11.5f}")
print(f"{'always 0.05':25} {0:.5f} {constant.mean():23.5f}")

# %% tags=["hide-input"]
# check: the many-seed update is what the trainer does
for name, (model, history) in runs.items():
    torch.testing.assert_close(results[name]["w"][0], model.w.detach(),
                               rtol=0, atol=1e-6)
    assert math.isclose(results[name]["val"][-1, 0],
                        history["val_loss"][-1], rel_tol=1e-3)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.8), sharey=True)
for ax, (name, r) in zip(axes, results.items()):
    d2l.plot(range(11), [r["train"].mean(dim=1), r["val"].mean(dim=1)],
             ["training", "validation"], xlabel="epoch", yscale="log",
             title=name.replace("lambda", r"$\lambda$"), ax=ax)
    ax.title.set_fontsize("medium")
    ax.set_xticks(range(0, 11, 2))
axes[0].set_ylabel("half mean squared error")
for ax in axes[1:]:
    ax.get_legend().remove()
d2l.describe(axes, """Half the mean squared error against the epoch in three
    panels, logarithmic, without the penalty on both curves. Without decay
    the training error falls by three orders of magnitude and the validation
    error stays near 0.02. With lambda 3 the training error ends more than
    ten times higher and the validation error falls to about 0.01. Without
    decay but with a start at zero, the training error collapses too, and
    the validation error is as low as with decay.""")

# %% [markdown]
# **Figure 3.7.2.** Training and validation error, both without the penalty, after each epoch; means over the seeds.
# Left and middle, the classical comparison: decay keeps the training error from collapsing and nearly halves the validation error.
# The gap between the curves becomes smaller, but the validation error is still about twenty times the training error.
# Right, no decay and a start at zero: the validation error is as low as in the middle.
#
# The two left panels are the usual argument for weight decay; the right one shows its hole.

# %%
# check 3.7-C1: half squared norm after training, in every seed
without, decayed, zero, both = results.values()
assert 0.007 < without["penalty"].min()
assert without["penalty"].max() < 0.014
assert 0.0008 < decayed["penalty"].min()
assert decayed["penalty"].max() < 0.0025

# %%
# check 3.7-C2: decay fits the training data less, the validation better
assert without["train"][-1].max() < 1e-4
assert (decayed["train"][-1] > without["train"][-1]).all()
assert (decayed["val"][-1] < without["val"][-1]).all()
halved = decayed["val"][-1].mean() / without["val"][-1].mean()
assert 0.5 < halved < 0.62  # Figure 3.7.2: nearly halves
gap = decayed["val"][-1].mean() / decayed["train"][-1].mean()
assert 15 < gap < 35  # Figure 3.7.2: about twenty times

# %%
# check 3.7-C3: no decay but a zero start is as good as decay
ratio = [(r["val"][-1].mean() / zero["val"][-1].mean()).item()
         for r in (decayed, both)]
print("validation error relative to zero start without decay:",
      f"decay {ratio[0]:.2f}, both {ratio[1]:.2f}")
assert 0.0085 < zero["val"][-1].mean() < 0.0111
assert ratio[0] >= 1 and abs(ratio[1] - 1) < 0.03

# %% [markdown]
# The last two rows of the table are sobering.
# From a zero start, decay changes the validation error by no more than 3 %.
# And the constant 0.05, which looks at no input, does about as well as the better models, on average a little better than the classical run with decay.
# Twenty examples say little about 200 weights.

# %%
low = constant.mean()
assert low < decayed["val"][-1].mean() < without["val"][-1].mean()
assert 0.9 < zero["val"][-1].mean() / low < 1.1

# %% [markdown]
# ## Concise implementation
#
# The penalty can be left to the optimizer, and the loss stays as it was: `torch.optim.SGD` adds `weight_decay` times the parameter to its gradient.
# This holds for all parameters that the optimizer receives, biases included.
# To treat them differently we hand over *parameter groups*, dictionaries with parameters and their own options.

# %% tags=["export"]
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

# %% [markdown]
# With all gradients zero, one step should multiply the weights by $1-\eta\lambda$ and leave the bias as it is.
# A plain `weight_decay=3` shrinks the bias as well.

# %%
def idle_step(optimizer_of):
    """Factors of weights and bias in a step whose gradients are zero."""
    model = WeightDecay(wd=3, lr=0.01, num_inputs=200)
    nn.init.ones_(model.net.weight)
    nn.init.ones_(model.net.bias)
    optimizer = optimizer_of(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    w, b = model.get_w_b()
    return round(w.mean().item(), 4), round(b.item(), 4)

groups = idle_step(WeightDecay.configure_optimizers)
plain = idle_step(lambda model: torch.optim.SGD(
    model.parameters(), lr=0.01, weight_decay=3))
print("weights, bias: with groups", groups, " plain", plain)
assert groups == (0.97, 1.0) and plain == (0.97, 0.97)

# %% [markdown]
# We now have three implementations of one idea: the penalty in the loss, the option of the optimizer, and the explicit factor of (3.7.4) in `sgd_path`.
# From the same start and on the same batches they must agree.

# %%
def train_concise(model, seed=0):
    """Train on the data and batches of `train_scratch`."""
    model.board.display = False
    Trainer(max_epochs=10).fit(model, high_dim_data(seed))
    return model

model = WeightDecay(wd=3, lr=0.01, num_inputs=200)
with torch.no_grad():
    model.net.weight.copy_(w0[0].T)  # the start of seed 0
w_concise, b_concise = train_concise(model).get_w_b()
print(f"half squared norm: {l2_penalty(w_concise):.5f}")

# %%
# check 3.7-C5: penalty = optimizer option = explicit factor
scratch = runs["lambda = 3, random start"][0]
torch.testing.assert_close(w_concise.T, scratch.w.detach(),
                           rtol=0, atol=1e-6)
torch.testing.assert_close(w_concise.T, decayed["w"][0], rtol=0, atol=1e-6)
torch.testing.assert_close(b_concise, scratch.b.detach(),
                           rtol=0, atol=1e-6)

# %% [markdown]
# Agreement is not a matter of course.
# A widely taught version of this model differs in two lines, neither of which raises an error, and ends with larger weights than without any decay; Exercise 3.7-7 finds them.

# %% [markdown]
# ## What the experiment really shows
#
# All gradients of the data term are sums of training inputs, as (3.7.4) shows.
# Twenty inputs span 20 of the 200 directions in which $\mathbf{w}$ can move; in the other 180 the data exert no force.
# Let $\mathbf{P}$, of shape $(200,200)$, be the projection onto those 180 directions,
#
# $$\mathbf{P} = \mathbf{I}-\mathbf{X}^\top(\mathbf{X}\mathbf{X}^\top)^{-1}\mathbf{X},\qquad \mathbf{P}\mathbf{w}_t = (1-\eta\lambda)^t\,\mathbf{P}\mathbf{w}_0, \tag{3.7.7}$$
#
# where $\mathbf{X}$ of shape $(20,200)$ holds the training inputs, $\mathbf{I}$ is the identity of shape $(200,200)$, and $\mathbf{w}_t$ of shape $(200,1)$ holds the weights after $t$ steps.
# The second equation follows from (3.7.4) because $\mathbf{P}\mathbf{x}^{(i)}=\mathbf{0}$ for every training input.
# Without decay this part of the weights keeps its random start.
# With decay the fraction $0.97^{40}\approx0.296$ of it is left, whatever the data.

# %%
X64, y64 = train[0][:1].double(), train[1][:1].double()  # seed 0
P = torch.eye(200, dtype=f64) - X64[0].T @ torch.linalg.solve(
    X64[0] @ X64[0].T, X64[0])  # (200, 200)
paths = {lambd: sgd_path(X64, y64, w0[:1].double(), b0[:1].double(),
                         order[:, :1], lambd=lambd)[0][:, 0]
         for lambd in (0, 3)}  # each (41, 200, 1)
print(f"trace of P: {P.trace():.6f}")

# %%
# check 3.7-C6: null-space part untouched, or multiplied by 0.97 ** 40
assert abs(P.trace() - 180) < 1e-9
for lambd, path in paths.items():
    gap = P @ path[-1] - (1 - 0.01 * lambd) ** 40 * P @ path[0]
    assert gap.abs().max() < 1e-10
assert abs(0.97 ** 40 - 0.29571) < 1e-5

# %% tags=["hide-input"]
steps = torch.arange(41)
fig, axes = plt.subplots(1, 2, figsize=(7, 2.9), sharey=True)
for ax, (lambd, path) in zip(axes, paths.items()):
    outside = ((P @ path) ** 2).sum(dim=(1, 2)) / 2  # (41,)
    inside = (path ** 2).sum(dim=(1, 2)) / 2 - outside
    d2l.plot(steps, [outside, inside],
             ["180 directions without data", "20 directions with data"],
             xlabel="step", title=rf"$\lambda = {lambd}$", ax=ax)
    predicted = outside[0] * (1 - 0.01 * lambd) ** (2 * steps)
    ax.plot(steps[::4], predicted[::4], "ko", ms=3.5,
            label="prediction (3.7.7)")
axes[0].set(ylabel="half squared norm", ylim=(0, 0.0125))
axes[0].get_legend().remove()
axes[1].legend(loc="upper right")
d2l.describe(axes, """Half squared norm of two parts of the weights against
    the step. Without decay the part in the 180 directions without data
    stays constant; with lambda 3 it falls to less than a tenth, exactly on
    the predicted dots. The part in the 20 directions with data is small in
    both panels.""")

# %% [markdown]
# **Figure 3.7.3.** Almost all of the weight that decay removes was put there by the random start.
# The data act only on the lower, dashed curve.
#
# The validation inputs do have components in the 180 directions, and there the random start costs.
# The expected excess of the half squared error over that of a zero start is half the squared length of what is left of the start: $\frac12\cdot180\cdot0.01^2=0.009$ without decay, and $0.009\cdot0.97^{80}\approx0.0008$ with it.
# This accounts for most of the difference between the runs:

# %%
for name, run, predicted in (("without decay", without, 0.009),
                             ("with decay", decayed, 0.009 * 0.97 ** 80)):
    same = zero if run is without else both  # the same decay
    excess = (run["val"][-1] - same["val"][-1]).mean()
    print(f"{name:13}: excess {excess:.4f}, predicted {predicted:.4f}")
    assert abs(excess / predicted - 1) < 1.5 / num_seeds ** 0.5

# %% [markdown]
# In this experiment weight decay cleans up after the initialization; starting at zero does the same without a hyperparameter.
# The better-known service, protection against noise in the labels, is not shown here: with a standard deviation of 0.01 there is next to no noise.
# To see it we need a closed solution and a second experiment.

# %% [markdown]
# ## The closed form
#
# Without the bias, setting the gradient of (3.7.3) to zero gives a linear system:
#
# $$\left(\mathbf{X}^\top\mathbf{X}+n\lambda\mathbf{I}\right)\mathbf{w} = \mathbf{X}^\top\mathbf{y}, \tag{3.7.8}$$
#
# with the features $\mathbf{X}$ of shape $(n,d)$, the labels $\mathbf{y}$ of shape $(n,1)$, the identity $\mathbf{I}$ of shape $(d,d)$ and the solution $\mathbf{w}$ of shape $(d,1)$.
# The factor $n$ stands there because $L$ is a mean, while $\mathbf{X}^\top\mathbf{X}$ is a sum.
# The eigenvalues on the left are at least $n\lambda$, so for $\lambda>0$ the solution is unique, even with more features than examples.
# The name comes from A. E. Hoerl's earlier *ridge analysis* of quadratic response surfaces, whose mathematics is similar.
# A bias that is not penalized is removed beforehand, by subtracting the means from the columns of $\mathbf{X}$ and from $\mathbf{y}$.

# %% tags=["export"]
def ridge(X, y, lam):
    """Minimizer of mean((X @ w - y)**2) / 2 + lam / 2 * sum(w**2).

    X (n, d), y (n, 1) -> w (d, 1); leading batch dimensions are kept.
    There is no bias: centre X and y first. With lam = 0 the columns of
    X must be linearly independent.
    """
    n, d = X.shape[-2:]
    eye = torch.eye(d, dtype=X.dtype, device=X.device)
    return torch.linalg.solve(X.mT @ X + n * lam * eye, X.mT @ y)

# %%
X_twin = torch.tensor([[1.0], [2.0], [3.0]]).repeat(1, 2)  # same twice
w = ridge(X_twin, X_twin[:, :1], 0.1)
print("two equal features share the weight:",
      [round(v, 3) for v in w[:, 0].tolist()])
torch.testing.assert_close(w[0], w[1])
assert 0.45 < w[0] < 0.5

# %% [markdown]
# The same vector can be written in three other ways.
#
# The *dual* form $\mathbf{w}=\mathbf{X}^\top(\mathbf{X}\mathbf{X}^\top+n\lambda\mathbf{I})^{-1}\mathbf{y}$ solves a system of size $n$ instead of $d$, which is the smaller one here: $20$ against $200$.
# It also shows that the solution is a combination of training inputs.
#
# *Augmented data*: append to $\mathbf{X}$ the rows of $\sqrt{n\lambda}\,\mathbf{I}$, to $\mathbf{y}$ as many zeros, and solve ordinary least squares.
# The penalty acts like $d$ invented examples, each saying that one weight is zero.
#
# The *spectral* form uses the singular value decomposition $\mathbf{X}=\sum_j s_j\mathbf{u}_j\mathbf{v}_j^\top$:
#
# $$\mathbf{w} = \sum_j\frac{s_j}{s_j^2+n\lambda}\,(\mathbf{u}_j^\top\mathbf{y})\,\mathbf{v}_j = \sum_j\underbrace{\frac{s_j^2}{s_j^2+n\lambda}}_{\text{filter}}\;\frac{\mathbf{u}_j^\top\mathbf{y}}{s_j}\,\mathbf{v}_j, \tag{3.7.9}$$
#
# where $s_j>0$ are the singular values, at most $\min(n,d)$ numbers, and $\mathbf{u}_j$ of shape $(n,1)$ and $\mathbf{v}_j$ of shape $(d,1)$ the singular vectors.
# Without the filter this is the least-squares solution of smallest norm.
# A direction in which the inputs vary much, $s_j^2\gg n\lambda$, passes unchanged; one in which they vary little, where the division by $s_j$ amplifies the noise, is suppressed.

# %%
def ridge_path(X, y, lams):
    """Spectral form for many strengths: (len(lams), ..., d, 1)."""
    U, s, Vh = torch.linalg.svd(X, full_matrices=False)
    Uy, n = (U.mT @ y)[..., 0], X.shape[-2]  # (..., r)
    return torch.stack([Vh.mT @ (s / (s ** 2 + n * lam) * Uy)[..., None]
                        for lam in lams])

X, y, lam = X64[0], y64[0] - y64[0].mean(), 3.0
n, d = X.shape
eye_n, eye_d = torch.eye(n, dtype=f64), torch.eye(d, dtype=f64)
forms = {
    "primal": ridge(X, y, lam),
    "dual": X.T @ torch.linalg.solve(X @ X.T + n * lam * eye_n, y),
    "augmented": torch.linalg.lstsq(
        torch.cat((X, (n * lam) ** 0.5 * eye_d)),
        torch.cat((y, torch.zeros(d, 1, dtype=f64)))).solution,
    "spectral": ridge_path(X, y, [lam])[0]}

# %%
# check 3.7-C7: four forms, one solution
for name, w in forms.items():
    gap = (w - forms["primal"]).abs().max()
    print(f"{name:10} half squared norm {l2_penalty(w):.6f}")
    assert gap < 1e-10
assert (P @ forms["primal"]).abs().max() < 1e-10

# %% [markdown]
# ### How many parameters are left
#
# The filter factors also say how many parameters a penalized model effectively has.
# The predictions on the training inputs are $\mathbf{X}\mathbf{w}=\mathbf{S}\mathbf{y}$ with a matrix $\mathbf{S}$ of shape $(n,n)$.
# For least squares its trace is the number of coefficients ([Section 3.6](06-generalization.ipynb)); here it is
#
# $$\operatorname{df}(\lambda) = \operatorname{tr}\mathbf{S} = \sum_j\frac{s_j^2}{s_j^2+n\lambda}, \tag{3.7.10}$$
#
# the *effective degrees of freedom*, a number that need not be whole.
# It falls continuously from the rank of $\mathbf{X}$ to 0.

# %%
def degrees_of_freedom(X, lam):
    s2 = torch.linalg.svdvals(X) ** 2
    return (s2 / (s2 + len(X) * lam)).sum().item()

lams = [0, 0.1, 1, 3, 10, 100, 1e6]
dfs = [degrees_of_freedom(X, lam) for lam in lams]
print("  ".join(f"{lam:g}: {df:.2f}" for lam, df in zip(lams, dfs)))

# %%
# check 3.7-C8: effective degrees of freedom fall from 20 to 0
assert abs(dfs[0] - 20) < 1e-9
assert all(a > b for a, b in itertools.pairwise(dfs))
assert dfs[-1] < 1e-3
S = X @ torch.linalg.solve(X.T @ X + 3 * n * eye_d, X.T)  # the trace
assert abs(S.trace() - degrees_of_freedom(X, 3)) < 1e-9

# %% [markdown]
# ## Where decay cures overfitting
#
# Now an experiment with real noise: $n=60$ examples, $d=50$ features from $\mathcal{N}(0,1)$, true weights from $\mathcal{N}(0,\mathbf{I}/d)$, noise of standard deviation $\sigma=1$.
# Signal and noise are equally strong: $\mathbf{w}^\top\mathbf{x}$ has variance 1 too.
# The expected squared error on a new example needs no test set: for an estimate $\hat{\mathbf{w}}$ it is
#
# $$E\left[(y-\hat{\mathbf{w}}^\top\mathbf{x})^2\right] = \sigma^2+\|\hat{\mathbf{w}}-\mathbf{w}\|^2, \tag{3.7.11}$$
#
# because $\mathbf{x}$, of shape $(d,1)$, has independent entries with mean 0 and variance 1, and the noise is independent of it.
# (This is a squared error without $\frac12$; its floor is $\sigma^2$.)

# %%
def draw_noisy(num_draws, n=60, d=50, sigma=1.0, tau2=1 / 50, seed=0):
    """X (draws, n, d), y (draws, n, 1) and true w (draws, d, 1)."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(num_draws, n, d, generator=g, dtype=f64)
    w = tau2 ** 0.5 * torch.randn(num_draws, d, 1, generator=g, dtype=f64)
    eps = torch.randn(num_draws, n, 1, generator=g, dtype=f64)
    return X, X @ w + sigma * eps, w

def test_error(w_hat, w, sigma=1.0):
    """Expected squared error on new examples, (3.7.11)."""
    return sigma ** 2 + ((w_hat - w) ** 2).sum(dim=(-2, -1))

X, y, w_true = draw_noisy(num_draws)
lams = torch.logspace(-3, 2, 61, dtype=f64)
path = ridge_path(X, y, lams)  # (61, draws, 50, 1)
errors = test_error(path, w_true)  # (61, draws)
train_errors = ((X @ path - y) ** 2).mean(dim=(-2, -1))
torch.testing.assert_close(path[40], ridge(X, y, lams[40]))

# %% [markdown]
# Figure 3.7.4 shows the filter for one of these data sets, Figure 3.7.5 the errors of all.

# %% tags=["hide-input"]
s = torch.linalg.svdvals(X[0])  # (50,)
fig, ax = plt.subplots(figsize=(5.4, 3))
for i, lam in enumerate((0.01, 0.1, 0.83, 10)):
    grid = torch.linspace(0.2, 16, 200)
    ax.plot(grid, grid ** 2 / (grid ** 2 + 60 * lam), color=f"C{i}",
            ls=("-", "--", "-.", ":")[i], label=rf"$\lambda = {lam}$")
    ax.plot(s, s ** 2 / (s ** 2 + 60 * lam), "o", ms=3, color=f"C{i}")
ax.set(xlabel="singular value $s_j$", ylabel="filter factor",
       ylim=(0, 1.05))
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
d2l.describe(ax, """Filter factor against singular value for four strengths
    of the penalty. Each curve rises from 0 to 1; the larger lambda, the
    farther right. For lambda 0.01 nearly all 50 dots are close to 1, for
    lambda 10 all are below 0.4.""")

# %% [markdown]
# **Figure 3.7.4.** Filter factors $s_j^2/(s_j^2+n\lambda)$; each dot is one of the 50 singular values of a data set.

# %% tags=["hide-input"]
best_lam = 1 / (60 * (1 / 50))  # predicted below
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.1))
axes[0].plot(lams, path[:, 0, :, 0], color="C0", lw=0.9, alpha=0.6)
axes[0].set(ylabel="weights of one data set")
axes[1].plot(lams, errors[:, :30], color="C1", lw=0.6, alpha=0.3)
axes[1].plot(lams, errors.mean(dim=1), color="C1", lw=2.5,
             label="new data")
axes[1].plot(lams, train_errors.mean(dim=1), "--", color="C0", lw=2.5,
             label="training")
axes[1].axhline(1, color="black", ls=":", label="noise")
axes[1].set(ylabel="squared error", yscale="log", ylim=(0.08, 30))
axes[1].legend(loc="upper right")
for ax in axes:
    ax.axvline(best_lam, color="#777777", lw=1)
    ax.set(xscale="log", xlabel=r"$\lambda$")
d2l.describe(axes, """Left: 50 weights against lambda on a logarithmic axis;
    they spread widely for small lambda and shrink smoothly to zero. Right:
    squared errors. The training error rises with lambda from about 0.2.
    The error on new data falls from more than 6 to about 1.5 near lambda
    0.8, marked by a vertical line, and rises a little to 2.""")

# %% [markdown]
# **Figure 3.7.5.** The noisy experiment.
# Left, all weights shrink together and none is exactly zero.
# Right, the error on new data is lowest where the training error is far from its minimum; thick lines are means over the draws, thin ones single data sets; the grey line is a prediction that follows.
#
# At $\lambda\to0$ the error is that of least squares, for which [Section 3.6](06-generalization.ipynb) found the expectation $\sigma^2\left(1+\frac{d}{n-d-1}\right)=1+\frac{50}{9}\approx6.56$.
# Always predicting 0 costs $1+1=2$.
# So least squares does worse than no features at all, and with a suitable penalty the same 50 features are worth having.

# %%
# check 3.7-C9: decay cures overfitting, and the best strength is known
ols = test_error(ridge(X, y, 0.0), w_true)
one = test_error(ridge(X, y, 1.0), w_true)
print(f"lambda = 0: {ols.mean():.2f}  lambda = 1: {one.mean():.2f}  "
      f"smallest ratio: {(ols / one).min():.2f}")
assert abs(ols.mean() / (1 + 50 / 9) - 1) < 0.2
assert 1.45 < one.mean() < 1.65
assert (ols > 1.5 * one).all()
best = lams[errors.mean(dim=1).argmin()].item()
print(f"minimum of the grid: {best:.2f}, predicted: {best_lam:.2f}")
assert best_lam / 1.6 < best < best_lam * 1.6
norms = length(path, dim=(-2, -1))  # (61, draws)
assert (norms.diff(dim=0) < 0).all()

# %% [markdown]
# ### See it in one dimension
#
# Here are fifteen noisy points, a polynomial of degree 12, and a slider for the logarithm of $\lambda$.
# The constant term is left unpenalized by centring.

# %%
g = torch.Generator().manual_seed(16)
x = 2 * torch.rand(15, generator=g, dtype=f64) - 1
t = torch.sin(math.pi * x) + 0.3 * torch.randn(15, generator=g, dtype=f64)
grid = torch.linspace(-1, 1, 201, dtype=f64)
powers = torch.arange(1, 13)
A, G = x[:, None] ** powers, grid[:, None] ** powers  # (15, 12), (201, 12)
centre = A.mean(dim=0)

def fit_curve(lam):
    """Weights (12, 1) and the curve on the grid (201,)."""
    w = ridge(A - centre, (t - t.mean())[:, None], lam)
    return w, ((G - centre) @ w)[:, 0] + t.mean()

def miss(curve):
    """Mean squared distance from the sine."""
    return ((curve - torch.sin(math.pi * grid)) ** 2).mean().item()

(w_wild, wild), (w_good, good), (_, flat) = map(fit_curve, (1e-9, 1e-3, 100))
assert w_wild.abs().max() > 100 > 10 > w_good.abs().max()
assert miss(good) < 0.1 < 0.4 < miss(flat) < 1 < miss(wild)

# %% tags=["hide-input"]
def draw(fig, log10_lambda):
    lam = 10 ** log10_lambda
    w, curve = fit_curve(lam)
    left, right = fig.subplots(1, 2)
    left.plot(grid, torch.sin(math.pi * grid), ":", color="black")
    left.plot(grid, curve, color="C1")
    left.plot(x, t, "o", color="C0", ms=4)
    df = degrees_of_freedom(A - centre, lam)
    left.set(xlabel="$x$", ylabel="$y$", ylim=(-1.9, 1.9),
             title=f"degrees of freedom {df:.1f}")
    right.bar(powers.tolist(), w[:, 0].tolist(), color="C1")
    right.set_xticks(range(2, 13, 2))
    right.set(xlabel="power of $x$", ylabel="weight", yscale="symlog",
              ylim=(-3e3, 3e3), title=f"norm of w {length(w):.3g}")

d2l.sliders(draw, """Left: 15 points, the sine that they come from and the
    fitted polynomial. Right: its 12 weights. With growing lambda the curve
    becomes smoother and flatter and the weights smaller.""",
    figsize=(6.8, 2.8), log10_lambda=[
        -9, -8, -7, -6, -5, -4, -3.5, -3, -2.5, -2, -1.5, -1, 0, 1, 2])

# %% [markdown]
# **Figure 3.7.6.** Ridge regression with twelve powers; the dotted curve is the truth, and the axis of the weights is logarithmic outside $[-1,1]$.
# At the left end the curve chases the noise with weights in the hundreds that nearly cancel; at the right end it is flat; in between it stays close to the sine, with all twelve features in use.

# %% [markdown]
# ## A prior for the weights
#
# Where did the predicted $\lambda$ come from?
# [Section 3.1](01-linear-regression.ipynb) derived the squared loss by assuming Gaussian noise of variance $\sigma^2$.
# Suppose that we also know something about the weights before seeing data: each is drawn from $\mathcal{N}(0,\tau^2)$.
# By Bayes' rule the probability density of the weights given the data is proportional to the likelihood times this *prior*, and its negative logarithm is
#
# $$-\log p(\mathbf{w}\mid\mathbf{X},\mathbf{y}) = \frac1{2\sigma^2}\sum_{i=1}^n\left(y^{(i)}-\mathbf{w}^\top\mathbf{x}^{(i)}\right)^2+\frac1{2\tau^2}\|\mathbf{w}\|^2+\text{const}, \tag{3.7.12}$$
#
# where $\sigma^2$ and $\tau^2$, both numbers, are the variances of the noise and of a weight.
# Multiplied by $\sigma^2/n$ it is (3.7.3), with
#
# $$\lambda = \frac{\sigma^2}{n\tau^2}. \tag{3.7.13}$$
#
# Ridge regression thus gives the most probable weights, the *maximum a posteriori* (MAP) estimate.
# The noisier the labels and the fewer the examples, the stronger the penalty; the larger the expected weights, the weaker.
# In the noisy experiment $\lambda=1/(60\cdot\frac1{50})\approx0.83$, the grey line of Figure 3.7.5.

# %% [markdown]
# ## Penalty and decay part ways
#
# For plain SGD "add $\frac\lambda2\|\mathbf{w}\|^2$ to the loss" and "shrink the weights by $1-\eta\lambda$" are the same.
# With *momentum* (Section 12.6) they are not.
# Let $\mathbf{g}$ be the gradient of the data term and $\mathbf{v}$ a running sum of gradients with $0\le\mu<1$; all vectors have the shape of $\mathbf{w}$:
#
# $$\begin{aligned}\text{penalty:}\quad&\mathbf{v}\leftarrow\mu\mathbf{v}+\mathbf{g}+\lambda\mathbf{w},&&\mathbf{w}\leftarrow\mathbf{w}-\eta\mathbf{v},\\\text{decoupled:}\quad&\mathbf{v}\leftarrow\mu\mathbf{v}+\mathbf{g},&&\mathbf{w}\leftarrow(1-\eta\lambda)\mathbf{w}-\eta\mathbf{v}.\end{aligned} \tag{3.7.14}$$
#
# `torch.optim.SGD` does the first: at rest $\mathbf{v}=\mathbf{0}$ and $\mathbf{g}=-\lambda\mathbf{w}$, the ridge solution.
# At rest the second has $\mathbf{v}=\mathbf{g}/(1-\mu)=-\lambda\mathbf{w}$: the ridge solution for $(1-\mu)\lambda$, with $\mu=0.9$ a tenth of the strength.
#
# *Adam* (Section 12.10) also divides each entry of the step by a running root mean square of that entry's gradients.
# `torch.optim.Adam(..., weight_decay=...)` adds $\lambda\mathbf{w}$ to the gradient before this division; if it converges, then again to the ridge solution.
# `torch.optim.AdamW` is decoupled (Loshchilov and Hutter, 2019), and its decay is something else altogether.
# While a gradient hardly changes, Adam's quotient is close to $\pm1$ and the update is $w\leftarrow(1-\eta\lambda)w\mp\eta$, which comes to rest at $\mp\frac1\lambda$.
# So the decay builds a wall at $|w_j|=\frac1\lambda$.
# Xie and Li (2024) proved that the wall is all that is left in the end: for a convex loss, full batches and a non-increasing learning rate whose sum diverges, AdamW, *if* it converges, minimizes the loss *without* a penalty subject to $\max_j|w_j|\le\frac1\lambda$.
#
# Two features of different scale show it: 50 examples, $x_1$ of standard deviation 1 and $x_2$ of 10, labels $y=4x_1+x_2$, and two strengths, whose walls are at 2 and at 5.

# %%
g = torch.Generator().manual_seed(0)
X = torch.randn(50, 2, generator=g, dtype=f64) * torch.tensor([1, 10])
y = X @ torch.tensor([[4.0], [1]], dtype=f64)
H, c = X.T @ X / 50, X.T @ y / 50

def train_full(optimizer_class, lam, steps=6000, **options):
    """Full-batch path of the two weights: (steps, 2)."""
    w = torch.zeros(2, 1, dtype=f64, requires_grad=True)
    optimizer = optimizer_class([w], weight_decay=lam, **options)
    path = []
    for _ in range(steps):
        w.grad = H @ w.detach() - c  # of the data term
        optimizer.step()
        path.append(w.detach()[:, 0].clone())
    return torch.stack(path)

# %%
def train_decoupled(lam, steps=6000, lr=0.001, mu=0.9):
    """The second line of (3.7.14) -> the last weights, (2,)."""
    w = v = torch.zeros(2, 1, dtype=f64)
    for _ in range(steps):
        v = mu * v + H @ w - c
        w = (1 - lr * lam) * w - lr * v
    return w[:, 0]

def in_box(lam, steps=3000):
    """Least squares subject to |w_j| <= 1 / lam, by projected steps."""
    w, lr = torch.zeros(2, 1, dtype=f64), 1 / torch.linalg.matrix_norm(H, 2)
    for _ in range(steps):
        w = (w - lr * (H @ w - c)).clamp(-1 / lam, 1 / lam)
    return w[:, 0]

# %%
adaptive = {"lr": 0.01, "betas": (0.9, 0.99)}
ends, adam_paths = {}, {}
for lam in (0.5, 0.2):
    for cls in (torch.optim.Adam, torch.optim.AdamW):
        adam_paths[cls.__name__, lam] = train_full(cls, lam, **adaptive)
    momentum = train_full(torch.optim.SGD, lam, lr=0.001, momentum=0.9)
    ends[lam] = {"ridge": ridge(X, y, lam)[:, 0],
                 "momentum, penalty": momentum[-1],
                 "Adam, penalty": adam_paths["Adam", lam][-1],
                 "ridge, lambda / 10": ridge(X, y, lam / 10)[:, 0],
                 "momentum, decoupled": train_decoupled(lam),
                 "no penalty, wall": in_box(lam),
                 "AdamW": adam_paths["AdamW", lam][-1]}
for name in ends[0.5]:
    print(f"{name:21}", *(f"lambda {lam}: ({w[name][0]:.2f}, "
                          f"{w[name][1]:.2f})  " for lam, w in ends.items()))

# %%
# check 3.7-C11: where each of the methods comes to rest
for w in ends.values():
    assert (w["momentum, penalty"] - w["ridge"]).abs().max() < 1e-6
    assert (w["Adam, penalty"] - w["ridge"]).abs().max() < 3e-3
    assert (w["momentum, decoupled"]
            - w["ridge, lambda / 10"]).abs().max() < 1e-6
    assert (w["AdamW"] - w["no penalty, wall"]).abs().max() < 3e-3
    assert (w["AdamW"] - w["ridge"]).abs().max() > 0.3
assert abs(ends[0.5]["AdamW"][0] - 2) < 1e-3  # at the wall
assert (ends[0.2]["AdamW"] - torch.tensor([4, 1])).abs().max() < 3e-3

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.9))
for (name, lam), path in adam_paths.items():
    ax.plot(range(1, len(path) + 1), path[:, 0],
            color="C1" if name == "AdamW" else "C0",
            ls="-" if lam == 0.5 else "--",
            label=rf"{name}, $\lambda = {lam}$")
ax.axhline(2, color="black", ls=":", lw=1)
ax.text(1, 2.04, r"wall of $\lambda = 0.5$", va="bottom")
ax.set(xscale="log", xlabel="step", ylabel="$w_1$", ylim=(0, 4.4))
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
d2l.describe(ax, """The first weight against the step on a logarithmic axis.
    Adam with lambda 0.5 and 0.2 settles at the two ridge solutions, below
    and above 3. AdamW with lambda 0.5 creeps up to the wall at 2 and stays
    there; with lambda 0.2 it creeps up to 4, the solution without any
    penalty.""")

# %% [markdown]
# **Figure 3.7.7.** Adam with a penalty settles at the ridge solution; AdamW creeps to the wall, or, where the wall is out of reach, to the solution without a penalty.
#
# So a `weight_decay` tuned for one optimizer says little about another.
# (Nor about another definition: PyTorch multiplies the decay of AdamW by the learning rate, the original paper only by its schedule.)
# AdamW has been the usual choice for large language models, which see their data hardly more than once; D'Angelo and others (2024) conclude from ResNets and language models that decay there changes the training dynamics rather than acting as an explicit regularizer.

# %% [markdown]
# ## Summary
#
# - A penalty $\frac\lambda2\|\mathbf{w}\|^2$ in the training loss is, for plain SGD, a factor $1-\eta\lambda$ in each update; it bounds how fast the function can change and turns its effective number of parameters continuously.
# - Optimizers provide it as `weight_decay`, for all parameters they are given; parameter groups exempt the bias within the same training loop.
# - With more parameters than examples, SGD keeps the random start in every direction without data; the classical experiment measures mostly the decay of this start.
# - Where labels are noisy the penalty damps the directions in which noise is amplified; for Gaussian weights and noise its best strength is $\sigma^2/(n\tau^2)$.
# - $\ell_2$ spreads weight, $\ell_1$ sets weights to zero.
# - Under momentum, decoupled decay is a weaker penalty; under Adam, with a convex loss and full batches and if it converges, it ends not as a penalty but as a bound $1/\lambda$ on each weight.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 3.7-1
#
# Take one data set of the noisy experiment and 1000 further examples with the same true weights.
# Plot the training error and the error on the further examples against $\lambda$.
# Where is the minimum?

# %% [markdown]
# #### Solution 3.7-1

# %% [markdown]
# The training error can only grow with $\lambda$.
# The other error has a minimum inside the grid, near the value that the prior predicts, and it is flat.

# %%
X, y, w_true = draw_noisy(1, seed=1)
g = torch.Generator().manual_seed(2)
X_new = torch.randn(1000, 50, generator=g, dtype=f64)
y_new = X_new @ w_true[0] + torch.randn(1000, 1, generator=g, dtype=f64)
path = ridge_path(X[0], y[0], lams)  # (61, 50, 1)
train_curve = ((X[0] @ path - y[0]) ** 2).mean(dim=(1, 2))
new_curve = ((X_new @ path - y_new) ** 2).mean(dim=(1, 2))
ax = d2l.plot(lams, [new_curve, train_curve],
              ["1000 further examples", "training"], xscale="log",
              yscale="log", xlabel=r"$\lambda$", ylabel="squared error")
k = new_curve.argmin()
ax.plot(lams[k], new_curve[k], "ko")
d2l.describe(ax, """Squared error against lambda for one data set. The
    training error rises; the error on 1000 further examples falls to a
    minimum inside the grid, marked by a dot, and rises slightly.""")
assert 0.1 < lams[k] < 3
expected = test_error(path, w_true[0])  # (61,)
assert (new_curve / expected - 1).abs().max() < 0.15  # noise and all
assert (train_curve.diff() > 0).all()

# %% [markdown]
# **Figure 3.7.8.** One data set: the dot marks the lowest error on further examples.

# %% [markdown]
# ### Exercise 3.7-2
#
# In practice $\lambda$ is chosen with a validation set, which is small.
# Choose it with 30 validation examples, and repeat the whole experiment on new data many times.
# Is the chosen value the optimal one?
# Does it matter?

# %% [markdown]
# #### Solution 3.7-2

# %% [markdown]
# The choice is the minimum of a noisy curve, and since the curve is flat, the place of its minimum is poorly determined: the choices spread over more than a factor of five.
# For the same reason it matters little: the error of the chosen model is on average a few per cent above that of the best on the grid, and about a quarter of that of least squares.
# Two controls give the scale: the one value (3.7.13) for all data sets costs about 1 %, a value drawn at random from the grid more than 60 %.

# %%
X, y, w_true = draw_noisy(num_draws, n=90, seed=3)
path = ridge_path(X[:, :60], y[:, :60], lams)  # (61, draws, 50, 1)
val_errors = ((X[:, 60:] @ path - y[:, 60:]) ** 2).mean(dim=(-2, -1))
chosen = val_errors.argmin(dim=0)  # (draws,)
errors = test_error(path, w_true)
chosen_error = errors[chosen, torch.arange(num_draws)]  # (draws,)
prior = (lams - best_lam).abs().argmin()  # on the grid
price, price_prior, price_random = (
    (error / errors.min(dim=0).values).mean().item() - 1
    for error in (chosen_error, errors[prior], errors.mean(dim=0)))
low, high = lams[chosen].quantile(torch.tensor([0.1, 0.9], dtype=f64))
print(f"80 % of the choices lie between {low:.2f} and {high:.1f}")
print(f"mean price of choosing: {100 * price:.0f} %; of the prior's value "
      f"{100 * price_prior:.0f} %; of a random one {100 * price_random:.0f} %")
assert high / low > 5
assert 0.025 < price < 0.055 and price_prior < 0.02 < 0.6 < price_random
ols = test_error(ridge(X[:, :60], y[:, :60], 0.0), w_true)
assert abs(chosen_error.mean() / ols.mean() - 0.25) < 0.04

# %% [markdown]
# ### Exercise 3.7-3
#
# Replace the penalty by $\lambda\sum_j|w_j|$.
# What becomes of the update (3.7.4)?
# Show that gradient steps with the sign of the weights do not give exact zeros, while a gradient step on the data term followed by the soft threshold does.
# Compare the lasso with ridge where only 5 of 50 true weights differ from zero.

# %% [markdown]
# #### Solution 3.7-3

# %% [markdown]
# The derivative of $|w_j|$ is the sign of $w_j$, and so the update becomes $\mathbf{w}\leftarrow\mathbf{w}-\eta\lambda\operatorname{sign}(\mathbf{w})-\eta\,\partial_{\mathbf{w}}L$: each weight is pulled by the same amount, whatever its size.
# Near zero the pull overshoots, the sign flips, and the weight jitters around zero without staying there.
# The *proximal* version first takes the step on $L$ and then minimizes $\frac1{2\eta}\|\mathbf{w}-\cdot\|^2+\lambda\sum_j|w_j|$ exactly, which by (3.7.5) is the soft threshold at $\eta\lambda$.

# %%
def lasso(X, y, lam, steps=400, proximal=True):
    """l1-penalized least squares; X (..., n, d) -> w (..., d, 1)."""
    n = X.shape[-2]
    H, c = X.mT @ X / n, X.mT @ y / n
    lr = 1 / torch.linalg.matrix_norm(H, 2)[..., None, None]
    w = torch.zeros_like(c)
    for _ in range(steps):
        if proximal:
            w = soft_threshold(w - lr * (H @ w - c), lr * lam)
        else:
            w = w - lr * (H @ w - c) - lr * lam * w.sign()
    return w

X, _, _ = draw_noisy(20, seed=4)
w_sparse = torch.zeros(20, 50, 1, dtype=f64)
w_sparse[:, :5] = 1.0  # 5 of 50 are active
g = torch.Generator().manual_seed(5)
y = X @ w_sparse + torch.randn(20, 60, 1, generator=g, dtype=f64)
for proximal in (False, True):
    zeros = (lasso(X, y, 0.2, proximal=proximal) == 0).sum(dim=(1, 2))
    print(f"proximal {proximal!s:5}: {zeros.double().mean():.1f} of 50 "
          "weights are exactly 0")
    assert (zeros > 10).all() if proximal else (zeros == 0).all()
torch.testing.assert_close(lasso(X, y, 0.2), lasso(X, y, 0.2, steps=800),
                           rtol=0, atol=1e-4)  # has converged

# %%
grid = torch.logspace(-2, 0.5, 16, dtype=f64)
lasso_errors = torch.stack([test_error(lasso(X, y, lam), w_sparse)
                            for lam in grid])  # (16, 20)
best_lasso = lasso_errors.min(dim=0).values  # (20,)
best_ridge = test_error(ridge_path(X, y, lams), w_sparse).min(dim=0).values
print(f"best on the grid, mean of 20: lasso {best_lasso.mean():.2f}, "
      f"ridge {best_ridge.mean():.2f}")
assert (best_lasso < best_ridge).all()
assert 0 < lasso_errors.mean(dim=1).argmin() < len(grid) - 1  # inside

# %% [markdown]
# The lasso is not told which weights are active, but it is made for such a truth: a few large weights and many zeros.
# On the data of the noisy experiment, whose weights are all small, ridge has the right prior, and wins.

# %%
X, y, w_dense = draw_noisy(20, seed=4)
lasso_errors = torch.stack([test_error(lasso(X, y, lam), w_dense)
                            for lam in grid])  # (16, 20)
best_lasso = lasso_errors.min(dim=0).values  # (20,)
best_ridge = test_error(ridge_path(X, y, lams), w_dense).min(dim=0).values
print(f"all weights small: lasso {best_lasso.mean():.2f}, "
      f"ridge {best_ridge.mean():.2f}")
assert best_ridge.mean() < best_lasso.mean() - 0.05
assert (best_ridge < best_lasso).sum() >= 14
assert 0 < lasso_errors.mean(dim=1).argmin() < len(grid) - 1  # inside

# %% [markdown]
# ### Exercise 3.7-4
#
# The length of a vector satisfies $\|\mathbf{w}\|^2=\mathbf{w}^\top\mathbf{w}$.
# Show that for a matrix the corresponding statement is $\|\mathbf{X}\|_F^2=\operatorname{tr}(\mathbf{X}^\top\mathbf{X})$, where $\|\mathbf{X}\|_F^2$ is the sum of the squares of all entries.
# What does it say about decaying a weight matrix, and about the singular values?

# %% [markdown]
# #### Solution 3.7-4

# %% [markdown]
# The diagonal entry $j$ of $\mathbf{X}^\top\mathbf{X}$ is $\sum_ix_{ij}^2$, the squared length of column $j$; the trace adds them up over all columns.
# So `l2_penalty` of a matrix penalizes each of its columns like a vector, and its gradient is the matrix itself: (3.7.4) holds unchanged.
# With the singular values, $\operatorname{tr}(\mathbf{X}^\top\mathbf{X})=\sum_js_j^2$: the decay of a layer shrinks all of its singular values.

# %%
g = torch.Generator().manual_seed(0)
W = torch.randn(7, 4, generator=g, dtype=f64, requires_grad=True)
frobenius = torch.linalg.matrix_norm(W) ** 2
torch.testing.assert_close((W.T @ W).trace(), frobenius)
torch.testing.assert_close((torch.linalg.svdvals(W) ** 2).sum(), frobenius)
torch.testing.assert_close(2 * l2_penalty(W), frobenius)
grad, = torch.autograd.grad(l2_penalty(W), W)
torch.testing.assert_close(grad, W.detach())

# %% [markdown]
# ### Exercise 3.7-5
#
# Derive the full posterior distribution of the weights for Gaussian noise of variance $\sigma^2$ and a Gaussian prior of variance $\tau^2$.
# Conclude that $\lambda=\sigma^2/(n\tau^2)$ is not only the MAP choice but the one with the smallest expected error, and check this on a grid for three values of $\tau^2$.

# %% [markdown]
# #### Solution 3.7-5

# %% [markdown]
# The right side of (3.7.12) is quadratic in $\mathbf{w}$, so the posterior is Gaussian.
# Its Hessian $\mathbf{A}=\frac1{\sigma^2}\mathbf{X}^\top\mathbf{X}+\frac1{\tau^2}\mathbf{I}$, of shape $(d,d)$, is the inverse of the covariance.
# The gradient vanishes where $\mathbf{A}\mathbf{w}=\frac1{\sigma^2}\mathbf{X}^\top\mathbf{y}$; multiplied by $\sigma^2$ this is (3.7.8) with $n\lambda=\sigma^2/\tau^2$.
# For a Gaussian the most probable point is also the mean.
# And of all estimates that use only the data, the posterior mean has the smallest expected squared distance from $\mathbf{w}$, because $E\|\mathbf{w}-\mathbf{a}\|^2$ is smallest at $\mathbf{a}=E[\mathbf{w}]$; by (3.7.11) it then also has the smallest expected error.

# %%
X, y, w_true = draw_noisy(1, seed=6)
A = X[0].T @ X[0] / 1.0 + torch.eye(50, dtype=f64) / (1 / 50)
posterior_mean = torch.linalg.solve(A, X[0].T @ y[0])
torch.testing.assert_close(posterior_mean, ridge(X[0], y[0], 50 / 60))

for tau2 in (0.1 / 50, 1 / 50, 10 / 50):
    X, y, w_true = draw_noisy(num_draws, tau2=tau2, seed=7)
    mean = test_error(ridge_path(X, y, lams), w_true).mean(dim=1)
    found, predicted = lams[mean.argmin()].item(), 1 / (60 * tau2)
    print(f"tau^2 = {tau2:.3f}: grid {found:6.3f}, formula {predicted:.3f}")
    assert predicted / 1.6 < found < predicted * 1.6

# %% [markdown]
# Does the formula also hold in the experiment with 200 inputs?
# There both $\sigma^2$ and the mean square of the weights are $0.01^2$, so (3.7.13) gives $\frac1{20}=0.05$, a sixtieth of the 3 that worked well in 40 steps.
# The closed form has no start that it would have to forget.
# We subtract the true bias 0.05, which no learner would know.

# %%
X, y = train[0].double(), train[1].double() - 0.05
losses = {}
for lam in (0, 0.05, 0.5, 3.0):
    w = ridge_path(X, y, [lam])[0]  # lam = 0: smallest norm
    losses[lam] = test_error(w, 0.01, sigma=0.01).mean().item() / 2
    print(f"ridge, lambda = {lam:4}: expected half squared error "
          f"{losses[lam]:.7f}")
assert abs(losses[0.05] / losses[0] - 1) < 1e-4
assert 1.003 * losses[0.05] < losses[3.0] < 1.02 * losses[0.05]
assert losses[0.05] < losses[0.5] < losses[3.0]

# %% [markdown]
# Up to the predicted value the curve is flat to within a hundredth of a per cent, and even at $\lambda=3$ it has risen by less than 2 %: with next to no noise, this experiment cannot test the formula, and it says nothing in favour of $\lambda=3$.

# %% [markdown]
# ### Exercise 3.7-6
#
# What happens if the bias decays too?
# Take labels with the bias $b=100$ and train with a plain `weight_decay=0.1`, then with parameter groups.
# Compute beforehand where the bias will end.

# %% [markdown]
# #### Solution 3.7-6

# %% [markdown]
# For centred features the bias has the penalized loss $\frac12(b-\bar y)^2+\frac\lambda2b^2$ to itself, where $\bar y$ is the mean label, and its minimum is $\bar y/(1+\lambda)$.
# With $\bar y\approx100$ and $\lambda=0.1$ about 9 is missing from every prediction, and the training loss is about $\frac12\cdot9^2\approx41$ instead of nearly 0.
# Adding a constant to all labels, for example by changing from degrees Celsius to kelvins, would not shift the predictions by the same constant.

# %%
g = torch.Generator().manual_seed(0)
X = torch.randn(100, 5, generator=g)
X = X - X.mean(dim=0)
y = X.sum(dim=1, keepdim=True) + 100 + 0.01 * torch.randn(
    100, 1, generator=g)

def train_with_bias(bias_decay, lam=0.1):
    """Full-batch training -> bias and half mean squared error."""
    model = LinearRegression(lr=0.1, num_inputs=5)
    optimizer = torch.optim.SGD([
        {"params": [model.net.weight], "weight_decay": lam},
        {"params": [model.net.bias], "weight_decay": bias_decay}], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        loss = ((model(X) - y) ** 2 / 2).mean()
        loss.backward()
        optimizer.step()
    return model.net.bias.item(), loss.item()

torch.manual_seed(0)
(b_free, free), (b_tied, tied) = train_with_bias(0), train_with_bias(0.1)
print(f"bias free:  b = {b_free:6.2f}, loss {free:.3f}")
print(f"bias decays: b = {b_tied:5.2f}, loss {tied:.3f}")
assert abs(b_free - y.mean()) < 1e-2 and free < 0.1
assert abs(b_tied - y.mean() / 1.1) < 1e-2 and tied > 400 * free

# %% [markdown]
# ### Exercise 3.7-7
#
# A widely taught version of the concise model differs from `WeightDecay` in two lines, and neither raises an error:
# its loss is `nn.MSELoss()`, without $\frac12$, and it initializes a lazy layer before the layer has any weights ([Section 3.5](05-linear-regression-concise.ipynb)), so the weights start not with standard deviation 0.01 but with $1/\sqrt{3d}\approx0.041$.
# For $\lambda=3$ it prints 0.01378 as the "L2 norm of w", *more* than the 0.00995 without decay.
# Which of the two differences is to blame, and what are these numbers?

# %% [markdown]
# #### Solution 3.7-7

# %% [markdown]
# First we rebuild it.

# %%
class AsPrinted(Module):
    """The version with both differences, for demonstration only."""

    def __init__(self, wd, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.LazyLinear(1)
        self.net.weight.data.normal_(0, 0.01)  # 0 elements: no effect

    def loss(self, y_hat, y):
        return nn.MSELoss()(y_hat, y)  # no 1/2

    def configure_optimizers(self):
        return torch.optim.SGD([
            {"params": [self.net.weight], "weight_decay": self.wd},
            {"params": [self.net.bias]}], lr=self.lr)

def start_and_end(seed):
    """Half squared norm before and after training."""
    torch.manual_seed(1000 + seed)
    model = AsPrinted(wd=3, lr=0.01)
    model(torch.zeros(1, 200))  # the weights come into being
    start = l2_penalty(model.net.weight).item()
    return start, l2_penalty(train_concise(model, seed).net.weight).item()

printed = torch.tensor([start_and_end(seed) for seed in range(10)])
print("mean half squared norm: start {:.3f}, end {:.4f}".format(
    *printed.mean(dim=0)))

# %%
# check 3.7-C4: the version as printed, in each of 10 seeds
starts, ends = printed.T
assert 0.13 < starts.min() and starts.max() < 0.21
assert 0.011 < ends.min() and ends.max() < 0.019
assert ends.mean() > without["penalty"].mean()  # more than no decay

# %% [markdown]
# Which of the two differences matters?
# `sgd_path` can undo them one at a time: `factor=2` stands for the missing $\frac12$, and the wide start is drawn as PyTorch's default does.

# %%
g = torch.Generator().manual_seed(0)
wide = (2 * torch.rand(w0.shape, generator=g) - 1) / 200 ** 0.5  # lazy
print("mean half squared norm   start at 0.041   start at 0.01")
ends = {}
for loss_name, factor in (("MSELoss", 2), ("half of it", 1)):
    for start in (wide, w0):
        w, _ = sgd_path(*train, start, b0, order, lambd=3, factor=factor)
        w = w[-1]
        ends[factor, start is wide] = (w ** 2).sum(dim=(1, 2)).mean() / 2
    print(f"{loss_name:23} {ends[factor, True]:14.5f} "
          f"{ends[factor, False]:15.5f}")
assert abs(wide.std() * math.sqrt(3 * 200) - 1) < 0.05
assert ends[2, True] > 4 * ends[2, False]
assert abs(ends[2, True] / ends[1, True] - 1) < 0.25

# %% [markdown]
# The start is to blame.
# Forty steps of decay are not enough to forget a start with a half squared norm of $\frac12\cdot200\cdot\frac1{600}\approx0.167$.
# The missing $\frac12$ changes the result less here, but it shifts the meaning of $\lambda$: `MSELoss` with `weight_decay` $\lambda$ solves the problem (3.7.3) with $\lambda/2$.
#
# The printed numbers are *half squared* norms; the norms to put into (3.7.2) are $\sqrt{2\cdot0.00995}\approx0.141$ and $\sqrt{2\cdot0.01378}\approx0.166$.

# %% [markdown]
# ## Sources
#
# - R. W. Hoerl, Ridge analysis 25 years later, 1985, [doi:10.1080/00031305.1985.10479425](https://doi.org/10.1080/00031305.1985.10479425): where the name comes from.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the high-dimensional experiment and its two implementations.
# - A. E. Hoerl, R. W. Kennard (1970). Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12. [doi:10.1080/00401706.1970.10488634](https://doi.org/10.1080/00401706.1970.10488634).
# - A. Krogh, J. A. Hertz (1991). A simple weight decay can improve generalization. [NeurIPS proceedings](https://papers.nips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html): decay of the components that the data do not determine, and protection against noise.
# - R. Tibshirani (1996). Regression shrinkage and selection via the lasso. [doi:10.1111/j.2517-6161.1996.tb02080.x](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x).
# - T. Hastie, R. Tibshirani, J. Friedman (2009). The Elements of Statistical Learning, Section 3.4. [doi:10.1007/978-0-387-84858-7](https://doi.org/10.1007/978-0-387-84858-7): singular-value filter, effective degrees of freedom, geometry of the balls.
# - I. Daubechies, M. Defrise, C. De Mol (2004). An iterative thresholding algorithm for linear inverse problems with a sparsity constraint. [doi:10.1002/cpa.20042](https://doi.org/10.1002/cpa.20042): the proximal iteration.
# - I. Loshchilov, F. Hutter (2019). Decoupled weight decay regularization. [arXiv:1711.05101](https://arxiv.org/abs/1711.05101): decoupled decay for SGD with momentum and for Adam.
# - S. Xie, Z. Li (2024). Implicit bias of AdamW: $\ell_\infty$ norm constrained optimization. [arXiv:2404.04454](https://arxiv.org/abs/2404.04454): the wall at $1/\lambda$.
# - F. D'Angelo, M. Andriushchenko, A. Varre, N. Flammarion (2024). Why do we need weight decay in modern deep learning? [arXiv:2310.04415](https://arxiv.org/abs/2310.04415).
