# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         vector_length: 2000
#     outputs_mb: {limit: 1.5, reason: the frames of its slider figures}
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
# # 3.1 Linear regression
#
# What will a house sell for, given its area and its age?
# *Regression* predicts a number from other numbers, and *linear regression* does it with a weighted sum.
# The model is small enough to solve with pencil and paper, yet training it has the parts of every later training: parameters, a loss, an optimizer, and a reason for choosing that loss.

# %% [markdown]
# **You will**
#
# - fit a linear model in closed form, and say when that solution is unique and when computing it this way loses digits;
# - derive the update of minibatch stochastic gradient descent, and predict for which learning rates it converges and how fast;
# - show that its gradient is right on average, and how the batch size controls its scatter;
# - derive the squared loss from Gaussian noise by maximum likelihood.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import itertools
import math
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64  # lets us check identities to ten digits

# %% tags=["parameters"]
vector_length = 10_000  # entries of the vectors that are added and timed

# %% [markdown]
# ## Basics
#
# A collection of houses that were sold is a *training set*.
# Each row, one house with its price, is an *example*.
# The number we want to predict, the price, is the *label* or *target*.
# The numbers we predict it from are the *features* or *covariates*.
#
# We write $n$ for the number of examples and $d$ for the number of features.
# A superscript counts examples and a subscript counts features: $\mathbf{x}^{(i)}\in\mathbb{R}^d$ holds the features of example $i$, $x_j^{(i)}$ is its feature $j$, and $y^{(i)}$ is its label.
#
# Here are 32 invented sales.
# Area is in m², age in years, price in units of 100 000 euros.

# %%
rng = torch.Generator().manual_seed(31)
n = 32
area = 50 + 150 * torch.rand(n, 1, generator=rng, dtype=f64)
age = 60 * torch.rand(n, 1, generator=rng, dtype=f64)
noise = 0.4 * torch.randn(n, 1, generator=rng, dtype=f64)
X = torch.cat((area, age), dim=1)  # (32, 2): row = example, column = feature
y = 0.3 + 0.03 * area - 0.015 * age + noise  # (32, 1)
for (x1, x2), label in zip(X[:3].tolist(), y[:3, 0].tolist()):
    print(f"area {x1:5.1f}   age {x2:4.1f}   price {label:.2f}")

# %% [markdown]
# ### Model
#
# Linear regression assumes that the expected label is a weighted sum of the features plus a constant:
#
# $$\hat y = w_1x_1+\dots+w_dx_d+b = \mathbf{w}^\top\mathbf{x}+b. \tag{3.1.1}$$
#
# Here $\mathbf{x}\in\mathbb{R}^d$ is one example, $\mathbf{w}\in\mathbb{R}^d$ holds the *weights*, the number $b$ is the *bias* (also: offset, intercept), and the hat marks a prediction.
# A weight says by how much the prediction moves when its feature grows by one unit.
# The bias is the prediction when all features are 0; without it every line would have to pass through the origin.
# (Strictly, $\mathbf{x}\mapsto\mathbf{w}^\top\mathbf{x}+b$ is an *affine* map, and linear only for $b=0$; the field says "linear" for both.)
#
# All $n$ examples together form the *design matrix* $\mathbf{X}\in\mathbb{R}^{n\times d}$, one row for each example and one column for each feature.
# Then all predictions are one matrix-vector product:
#
# $$\hat{\mathbf{y}} = \mathbf{X}\mathbf{w}+b, \tag{3.1.2}$$
#
# with $\hat{\mathbf{y}}\in\mathbb{R}^n$; the single number $b$ is *broadcast*, that is, added to each of the $n$ entries.
# In code a vector of labels or weights is a matrix with one column, `(n, 1)` or `(d, 1)`, and the bias has shape `(1,)`.

# %% [markdown]
# Even the best weights miss: the price also depends on things that are not in the table, and measurements have errors.
# What remains is called *observation noise*, and further down it gets a distribution.

# %% [markdown]
# ### Loss function
#
# A *loss function* turns the distance between prediction and label into one number, nonnegative, and 0 when the prediction is perfect.
# For regression the usual choice is half the squared error of example $i$:
#
# $$l^{(i)}(\mathbf{w},b) = \tfrac12\left(\hat y^{(i)}-y^{(i)}\right)^2, \tag{3.1.3}$$
#
# where $\hat y^{(i)}$ and $y^{(i)}$ are the predicted and the true label, both numbers.
# The factor $\frac12$ cancels the 2 that the derivative brings.
# A prediction of 3 for a label of 5 costs $\frac12\cdot2^2=2$; being off by 4 instead costs four times as much, so the fit avoids large errors.
#
# The loss on the training set is the mean over its examples,
#
# $$L(\mathbf{w},b) = \frac1n\sum_{i=1}^n l^{(i)}(\mathbf{w},b) = \frac1n\sum_{i=1}^n\frac12\left(\mathbf{w}^\top\mathbf{x}^{(i)}+b-y^{(i)}\right)^2, \tag{3.1.4}$$
#
# and *training* means looking for the parameters with the smallest loss:
#
# $$\mathbf{w}^*,b^* = \operatorname*{argmin}_{\mathbf{w},b}\ L(\mathbf{w},b). \tag{3.1.5}$$
#
# $L$ is a number that depends on all the data; $\mathbf{w}^*\in\mathbb{R}^d$ and $b^*\in\mathbb{R}$ are the best parameters.

# %%
def squared_loss(y_hat, y):
    """Half the mean squared error; both arguments have shape (n, 1)."""
    return ((y_hat - y) ** 2 / 2).mean()


w = torch.tensor([[0.02], [-0.01]], dtype=f64)  # (2, 1), a guess
b = torch.tensor([1.0], dtype=f64)  # (1,)
y_hat = X @ w + b  # (32, 2) @ (2, 1) + (1,) -> (32, 1)
first = w[0] * X[0, 0] + w[1] * X[0, 1] + b  # (3.1.1) for one house
torch.testing.assert_close(y_hat[0], first)
assert squared_loss(torch.tensor([[3.0]]), torch.tensor([[5.0]])) == 2
print(f"predicted {y_hat[0].item():.2f}, sold for {y[0].item():.2f}; "
      f"loss of the guess {squared_loss(y_hat, y).item():.3f}")

# %% [markdown]
# For pictures we keep one feature, the area, and measure it from 100 m² in units of 50 m².
# With $x=(\text{area}-100)/50$ the bias $b$ is the price of a house of 100 m², and $w$ is the price of 50 further square metres.

# %% tags=["hide-input"]
x = (area - 100) / 50  # (32, 1)


def draw_line(ax, w, b):
    """Data, the line w x + b, and the residuals as vertical segments."""
    line = w * x + b  # (32, 1)
    ax.vlines(x[:, 0], y[:, 0], line[:, 0], color="C1", lw=1.2)
    ax.plot(x[:, 0], y[:, 0], "o", ms=4, color="C0")
    ends = torch.tensor([-1.1, 2.1])
    ax.plot(ends, w * ends + b, color="black")
    ax.set(xlabel="(area − 100 m²) / 50 m²", xlim=(-1.15, 2.15), ylim=(0, 8))


_, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True)
for ax, (w1, b1) in zip(axes, [(0.7, 3.6), (1.5, 2.9)]):
    draw_line(ax, w1, b1)
    loss = squared_loss(w1 * x + b1, y).item()
    ax.set_title(f"w = {w1}, b = {b1}: loss {loss:.2f}")
axes[0].set_ylabel("price (100 000 euros)")
d2l.describe(axes, """Price against area for 32 houses with two
    candidate lines. Vertical segments join each house to the line; they
    are long for the flat line and short for the steep one.""")

# %% [markdown]
# **Figure 3.1.1.** The orange segments are the *residuals*, label minus prediction; the loss is half the mean of their squares.
# One long segment costs more than several short ones of the same total length.
#
# Move the sliders of the next figure and look for the lowest point of the bowl.

# %% tags=["hide-input"]
ones = torch.ones_like(x)
best = torch.linalg.lstsq(torch.cat((x, ones), 1), y).solution[:, 0]
w_axis = torch.linspace(-0.4, 2.8, 65, dtype=f64)
b_axis = torch.linspace(1.4, 4.6, 65, dtype=f64)
lines = w_axis * x[:, :, None] + b_axis[:, None]  # (32, 65, 65)
surface = ((lines - y[:, :, None]) ** 2 / 2).mean(dim=0)  # (b, w)
levels = [0.1, 0.2, 0.4, 0.7, 1.1, 1.6, 2.2, 3.0]


def draw(fig, w, b):
    left, right = fig.subplots(1, 2)
    draw_line(left, w, b)
    left.set_ylabel("price (100 000 euros)")
    right.contour(w_axis, b_axis, surface, levels, colors="#999999")
    right.plot(*best, "k+", ms=10, mew=2)
    right.plot(w, b, "o", ms=9, color="C1")
    right.set(xlabel="w", ylabel="b")
    right.set_title(f"loss {squared_loss(w * x + b, y).item():.2f}")


d2l.sliders(draw, """Left: houses, a line and its residuals. Right: the
    contours of the loss over w and b, a cross at the lowest point, and a
    dot at the parameters of the line.""", figsize=(6.4, 2.7),
    w=[0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4], b=[2.0, 2.5, 3.0, 3.5, 4.0])

# %% [markdown]
# **Figure 3.1.2.** Left the line, right its place on the contours of the loss.
# The cross marks the lowest point, which we compute next.

# %% [markdown]
# ### Analytic solution
#
# The loss is a quadratic function of the parameters, so setting its gradient to zero gives linear equations.
# To treat weights and bias alike, append a column of ones to the design matrix and the bias to the weights: with $\tilde{\mathbf{X}}=[\mathbf{X},\mathbf{1}]\in\mathbb{R}^{n\times(d+1)}$ and $\tilde{\mathbf{w}}=[w_1,\dots,w_d,b]^\top$, $\tilde{\mathbf{X}}\tilde{\mathbf{w}}=\mathbf{X}\mathbf{w}+b$.
# In this subsection we drop the tildes: $\mathbf{X}$ already contains the column of ones and $\mathbf{w}$ the bias.
#
# Minimizing $L=\frac1{2n}\|\mathbf{y}-\mathbf{X}\mathbf{w}\|^2$ is minimizing $\|\mathbf{y}-\mathbf{X}\mathbf{w}\|^2=\mathbf{y}^\top\mathbf{y}-2\mathbf{w}^\top\mathbf{X}^\top\mathbf{y}+\mathbf{w}^\top\mathbf{X}^\top\mathbf{X}\mathbf{w}$, and at a minimum its gradient vanishes:
#
# $$\nabla_{\mathbf{w}}\|\mathbf{y}-\mathbf{X}\mathbf{w}\|^2 = 2\mathbf{X}^\top(\mathbf{X}\mathbf{w}-\mathbf{y}) = \mathbf{0}. \tag{3.1.6}$$
#
# Here $\mathbf{y}\in\mathbb{R}^n$ holds the labels.
# Rearranged, these are the *normal equations* $\mathbf{X}^\top\mathbf{X}\mathbf{w}=\mathbf{X}^\top\mathbf{y}$, with the solution
#
# $$\mathbf{w}^* = (\mathbf{X}^\top\mathbf{X})^{-1}\mathbf{X}^\top\mathbf{y} \tag{3.1.7}$$
#
# whenever the square matrix $\mathbf{X}^\top\mathbf{X}\in\mathbb{R}^{(d+1)\times(d+1)}$ is invertible, that is, whenever the columns of $\mathbf{X}$ are linearly independent.
#
# Equation (3.1.6) says that the residual $\mathbf{y}-\mathbf{X}\mathbf{w}^*$ is orthogonal to every column of $\mathbf{X}$.
# By Pythagoras, for every $\mathbf{w}$,
#
# $$\|\mathbf{y}-\mathbf{X}\mathbf{w}\|^2 = \|\mathbf{y}-\mathbf{X}\mathbf{w}^*\|^2+\|\mathbf{X}(\mathbf{w}-\mathbf{w}^*)\|^2. \tag{3.1.8}$$
#
# The first term on the right does not depend on $\mathbf{w}$ and the second is never negative, so $\mathbf{w}^*$ is a global minimum, and it is unique exactly when the columns of $\mathbf{X}$ are independent.
#
# Put numbers in: for $x=0,1,2$ and $y=1,2,4$,
# $\mathbf{X}^\top\mathbf{X}=\begin{bmatrix}5&3\\3&3\end{bmatrix}$ and $\mathbf{X}^\top\mathbf{y}=\begin{bmatrix}10\\7\end{bmatrix}$, with the solution $w=\frac32$, $b=\frac56$.

# %% tags=["export"]
def fit_normal_equations(X, y):
    """Least squares by the normal equations, with a bias.

    `X` has shape (n, d) without a column of ones and `y` (n, 1); returns
    (d + 1, 1), the bias last. The columns must be independent.
    """
    A = torch.cat((X, torch.ones_like(X[:, :1])), dim=1)  # (n, d + 1)
    return torch.linalg.solve(A.mT @ A, A.mT @ y)

# %%
small = fit_normal_equations(torch.tensor([[0.0], [1.0], [2.0]]),
                             torch.tensor([[1.0], [2.0], [4.0]]))
torch.testing.assert_close(small, torch.tensor([[3 / 2], [5 / 6]]))
w1, w2, b1 = fit_normal_equations(X, y)[:, 0].tolist()
print(f"price = {w1:.4f} area {w2:+.4f} age {b1:+.3f}")

# %% [markdown]
# The estimates are near the numbers that generated the prices, 0.03, -0.015 and 0.3.
# PyTorch offers two other routes to the same solution: `torch.linalg.lstsq` factorizes $\mathbf{X}$ itself, and `torch.linalg.pinv` computes its *pseudoinverse*.

# %%
# check 3.1-C1: three routes, one solution, and an orthogonal residual
rng = torch.Generator().manual_seed(1)
X1 = torch.randn(200, 4, generator=rng, dtype=f64)
y1 = torch.randn(200, 1, generator=rng, dtype=f64)
A1 = torch.cat((X1, torch.ones(200, 1, dtype=f64)), dim=1)  # (200, 5)
solution = fit_normal_equations(X1, y1)  # (5, 1)
exact = {"rtol": 0, "atol": 1e-10}
torch.testing.assert_close(
    solution, torch.linalg.lstsq(A1, y1).solution, **exact)
torch.testing.assert_close(solution, torch.linalg.pinv(A1) @ y1, **exact)
gradient = A1.mT @ (A1 @ solution - y1)
torch.testing.assert_close(gradient, torch.zeros_like(gradient), **exact)

# %% [markdown]
# In exact arithmetic the three agree.
# In floating point the normal equations lose more digits, because they square the *condition number*.
# With $s_{\max}$ and $s_{\min}$ the largest and smallest singular value of $\mathbf{X}$,
#
# $$\kappa(\mathbf{X}) = \frac{s_{\max}}{s_{\min}},\qquad \kappa(\mathbf{X}^\top\mathbf{X}) = \frac{s_{\max}^2}{s_{\min}^2} = \kappa(\mathbf{X})^2. \tag{3.1.9}$$
#
# The number $\kappa\ge1$ says by how much relative errors can be amplified by solving.
# With $\kappa(\mathbf{X})=10^4$, single precision (about 7 digits) leaves `lstsq` some 3 digits and the normal equations none, because $\kappa^2=10^8$.
# Features in different units already raise it.

# %%
A = torch.cat((X, torch.ones(n, 1, dtype=f64)), dim=1)  # (32, 3)
kappa = torch.linalg.cond(A).item()
squared = torch.linalg.cond(A.mT @ A).item()
print(f"houses: condition number {kappa:.0f}, of the product {squared:.0f}")

# %%
# check 3.1-C2: forming X'X squares the condition number and costs digits
torch.testing.assert_close(squared, kappa**2, rtol=1e-8, atol=0)
rng = torch.Generator().manual_seed(2)
errors = []
for _ in range(20):
    U = torch.linalg.qr(torch.randn(50, 4, generator=rng, dtype=f64)).Q
    V = torch.linalg.qr(torch.randn(4, 4, generator=rng, dtype=f64)).Q
    s = torch.logspace(0, -4, 4, dtype=f64)  # condition number 10^4
    B = (U * s @ V.mT).float()  # (50, 4), single precision
    target = B.sum(dim=1, keepdim=True)  # all true weights are 1
    by_normal = torch.linalg.solve(B.mT @ B, B.mT @ target)
    by_lstsq = torch.linalg.lstsq(B, target).solution
    errors.append([torch.linalg.vector_norm(v - 1)
                   for v in (by_normal, by_lstsq)])
normal_error, lstsq_error = torch.tensor(errors).median(dim=0).values
assert lstsq_error < 1e-3 and normal_error > 0.05

# %% [markdown]
# So use `lstsq` for computations.
# The closed form exists because the loss is quadratic in the parameters; for the absolute error, and for networks with hidden layers in general, there is none.

# %% [markdown]
# ### One outlier
#
# Ten points lie exactly on the line $y=2x+1$; then the last label is mistyped as 100.

# %%
xs = torch.arange(10, dtype=f64)[:, None]  # (10, 1)
ys = 2 * xs + 1
ys[9] = 100  # the mistyped label
slope, intercept = fit_normal_equations(xs, ys)[:, 0].tolist()
absolute_true = (2 * xs + 1 - ys).abs().sum().item()
absolute_fit = (slope * xs + intercept - ys).abs().sum().item()
print(f"fit: slope {slope:.3f}, intercept {intercept:.3f}")
print(f"sum of absolute errors: true line {absolute_true:.1f}, "
      f"fit {absolute_fit:.1f}")

# %%
# check 3.1-C10: one outlier bends the fit; absolute loss would not
assert abs(slope - 6.418) < 5e-4 and abs(intercept + 10.782) < 5e-4
assert absolute_true == 81
assert abs(absolute_fit - 150.2) < 0.05
assert squared_loss(slope * xs + intercept, ys) < squared_loss(
    2 * xs + 1, ys)

# %% tags=["hide-input"]
ax = d2l.plot(xs[:, 0], [2 * xs[:, 0] + 1, slope * xs[:, 0] + intercept],
              ["true line", "squared-loss fit"], xlabel="x", ylabel="y")
ax.plot(xs[:9, 0], ys[:9, 0], "o", color="black", ms=4)
ax.plot(xs[9:, 0], ys[9:, 0], "X", color="black", ms=8)
ax.text(8.7, 100, "mistyped label", ha="right", va="center")
d2l.describe(ax, """Nine points on a line and one far above it. The
    squared-loss fit is three times as steep as the true line and misses
    all ten points.""")

# %% [markdown]
# **Figure 3.1.3.** One wrong label out of ten more than triples the slope.
#
# Measured by the *absolute* loss $|\hat y-y|$, the true line is better than this fit, since it pays only once, for the outlier.
# Choosing the squared loss assumes that large errors are very rare; the normal distribution, below, says exactly how rare.

# %% [markdown]
# ### Minibatch stochastic gradient descent
#
# *Gradient descent* repeatedly takes a small step against the gradient of the loss, the direction in which the loss falls fastest.
# On the whole training set one step reads all $n$ examples, which is slow when $n$ is a million.
# The other extreme takes one example per step: *stochastic gradient descent* (SGD) in its original form.
# Its steps are noisy, and it uses hardware badly: processors multiply matrices far faster than they do the same work vector by vector.
#
# Between them lies the *minibatch* $\mathcal{B}$, a random set of $|\mathcal{B}|$ examples, often 32 to 256, drawn anew for each step:
#
# $$(\mathbf{w},b) \leftarrow (\mathbf{w},b)-\frac{\eta}{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\partial_{(\mathbf{w},b)}l^{(i)}(\mathbf{w},b). \tag{3.1.10}$$
#
# The *learning rate* $\eta>0$ scales the step, and $\partial_{(\mathbf{w},b)}l^{(i)}$ holds the partial derivatives of the loss of example $i$ with respect to all $d+1$ parameters.
# The derivative of $\frac12(\hat y-y)^2$ with respect to $\hat y$ is the error $\hat y-y$, and $\hat y$ changes by $x_j$ for each unit of $w_j$ and by 1 for each unit of $b$:
#
# $$\mathbf{w} \leftarrow \mathbf{w}-\frac{\eta}{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\mathbf{x}^{(i)}\left(\mathbf{w}^\top\mathbf{x}^{(i)}+b-y^{(i)}\right), \tag{3.1.11}$$
#
# $$b \leftarrow b-\frac{\eta}{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\left(\mathbf{w}^\top\mathbf{x}^{(i)}+b-y^{(i)}\right). \tag{3.1.12}$$
#
# Each example pushes the weights along its own features $\mathbf{x}^{(i)}\in\mathbb{R}^d$, in proportion to its error in parentheses, a number.

# %% tags=["export"]
def sgd_step(w, b, X, y, lr):
    """One minibatch step on half the mean squared error.

    `w` has shape (d, 1), `b` (1,), `X` (m, d), `y` (m, 1). Returns the
    new `w` and `b`; the old ones stay unchanged.
    """
    error = X @ w + b - y  # (m, 1)
    grad_w = X.mT @ error / len(X)  # (d, m) @ (m, 1) -> (d, 1)
    grad_b = error.mean(dim=0)  # (1,)
    return w - lr * grad_w, b - lr * grad_b

# %% [markdown]
# By hand: with $w=b=0$, one example $x=2$, $y=6$ and $\eta=0.1$ the error is $-6$, so $w$ becomes $0+0.1\cdot2\cdot6=1.2$ and $b$ becomes $0.6$.

# %%
zero, bias = torch.zeros(1, 1), torch.zeros(1)
w1, b1 = sgd_step(zero, bias, torch.tensor([[2.0]]),
                  torch.tensor([[6.0]]), lr=0.1)
print(f"w = {w1.item():.1f}, b = {b1.item():.1f}")

# %%
# check 3.1-C3: the explicit gradients are those of autograd
rng = torch.Generator().manual_seed(3)
Xb = torch.randn(8, 5, generator=rng, dtype=f64)
yb = torch.randn(8, 1, generator=rng, dtype=f64)
w0 = torch.randn(5, 1, generator=rng, dtype=f64).requires_grad_()
b0 = torch.randn(1, generator=rng, dtype=f64).requires_grad_()
squared_loss(Xb @ w0 + b0, yb).backward()
with torch.no_grad():
    w1, b1 = sgd_step(w0, b0, Xb, yb, lr=1.0)  # old minus new = gradient
    torch.testing.assert_close(w0 - w1, w0.grad)
    torch.testing.assert_close(b0 - b1, b0.grad)

# %% [markdown]
# The algorithm initializes the parameters, usually at random, and then repeats: draw a minibatch, apply (3.1.11) and (3.1.12).
# The numbers $\eta$ and $|\mathcal{B}|$ are set by us and not by the updates: they are *hyperparameters*, tuned by comparing trained models on a *validation set*, examples kept out of training ([Section 3.6](06-generalization.ipynb)).
#
# The next cells follow the path of the two parameters of Figure 3.1.2, once with all data in each step and once with minibatches of 4.

# %%
def gd_path(X, y, lr, steps):
    """Full-batch gradient descent from 0, without a separate bias.

    `X` has shape (n, p), `y` (n, 1); returns all points, (steps + 1, p).
    """
    w = torch.zeros(X.shape[1], 1, dtype=X.dtype)
    path = [w]
    for _ in range(steps):
        w = w - lr * X.mT @ (X @ w - y) / len(X)  # (p, 1)
        path.append(w)
    return torch.cat(path, dim=1).mT

# %%
design = torch.cat((x, ones), dim=1)  # (32, 2): parameters (w, b)
gd = gd_path(design, y, lr=0.2, steps=40)  # (41, 2)

rng = torch.Generator().manual_seed(4)
w1, b1 = torch.zeros(1, 1, dtype=f64), torch.zeros(1, dtype=f64)
points = [torch.cat((w1[0], b1))]
for _ in range(1040):  # the figure shows the first 40
    batch = torch.randperm(n, generator=rng)[:4]
    w1, b1 = sgd_step(w1, b1, x[batch], y[batch], lr=0.2)
    points.append(torch.cat((w1[0], b1)))
sgd = torch.stack(points)  # (1041, 2)

# %% tags=["hide-input"]
def losses(path):
    """Loss (3.1.4) at each point (w, b) of a path, shape (points,)."""
    return ((design @ path.mT - y) ** 2 / 2).mean(dim=0)


# Rings of equal loss: best + C'^-1 u, where C C' = X'X / n.
C = torch.linalg.cholesky(design.mT @ design / n)  # (2, 2)
radius = torch.linspace(0, 3.8, 21, dtype=f64)[:, None]  # (21, 1)
angle = torch.linspace(0, 2 * math.pi, 61, dtype=f64)  # (61,)
u = torch.stack((radius * angle.cos(), radius * angle.sin()))
rings = best[:, None] + torch.linalg.solve(C.mT, u.reshape(2, -1))
height = losses(rings.mT)  # (21 * 61,)

# %% tags=["hide-input"]
fig = plt.figure(figsize=(7.2, 3.3))
left = fig.add_subplot(1, 2, 1, projection="3d", computed_zorder=False)
left.plot_surface(*(v.reshape(21, 61).numpy() for v in (*rings, height)),
                  cmap="viridis", alpha=0.75, rstride=1, cstride=1)
left.plot(*gd.mT, losses(gd), "o-", ms=3, color="C1", zorder=2)
left.set(xlabel="w", ylabel="b", xticks=[-2, 0, 2, 4],
         yticks=[0, 2, 4, 6], zticks=[0, 2, 4, 6])
left.set_title("loss, with the path of GD")
left.view_init(elev=55, azim=35)
left.set_box_aspect((4, 4, 2.6), zoom=0.92)
right = fig.add_subplot(1, 2, 2)
for ring in rings.reshape(2, 21, 61)[:, 3::3].unbind(dim=1):
    right.plot(*ring, color="#aaaaaa", lw=1)
right.plot(*gd.mT, "o-", ms=3, color="C1", label="GD, all 32 examples")
right.plot(*sgd[:41].mT, "s--", ms=3, lw=1, color="black",
           label="SGD, batches of 4")
right.plot(*best, "+", ms=12, mew=2.5, color="C2")
right.set(xlabel="w", ylabel="b", xlim=(-0.4, 3.0), ylim=(-0.2, 4.6))
right.legend(loc="lower right", frameon=True)
d2l.describe(right, """The loss as a bowl over w and b, and its contours.
    The path of full gradient descent runs smoothly to the lowest point;
    the path of minibatch SGD follows it with jitter and keeps moving
    around the lowest point.""")

# %% [markdown]
# **Figure 3.1.4.** Forty steps on the loss of Figure 3.1.2 from $w=b=0$.
# Gradient descent settles in the lowest point (cross); minibatch SGD takes nearly the same way and reads an eighth of the examples per step, but with this constant learning rate it keeps moving around the lowest point.

# %%
# check: after 40 steps GD has settled; after 1000 SGD still moves
assert torch.linalg.vector_norm(gd[-1] - best) < 0.005
still = torch.linalg.vector_norm(sgd[-500:] - best, dim=1)
assert 0.05 < still.mean() < 0.15
assert torch.linalg.vector_norm(sgd[-500:].std(dim=0)) > 0.05
assert 8 * len(batch) == n  # an eighth of the examples per step

# %% [markdown]
# A step from 4 examples is right on average.
# Write $\mathbf{g}_i$ for the gradient of $l^{(i)}$, $\mathbf{g}_{\mathcal{B}}$ for the mean of $\mathbf{g}_i$ over a batch and $\mathbf{g}=\nabla L$ for the mean over all $n$ examples.
# Each example is in the same share $|\mathcal{B}|/n$ of all possible batches, so each $\mathbf{g}_i$ enters the average of $\mathbf{g}_{\mathcal{B}}$ with the weight $\frac{|\mathcal{B}|}{n}\cdot\frac1{|\mathcal{B}|}=\frac1n$: the minibatch gradient is *unbiased*.
# Its scatter is
#
# $$E[\mathbf{g}_{\mathcal{B}}] = \mathbf{g},\qquad E\left[\|\mathbf{g}_{\mathcal{B}}-\mathbf{g}\|^2\right] = \frac{S}{|\mathcal{B}|}\cdot\frac{n-|\mathcal{B}|}{n-1},\qquad S = \frac1n\sum_{i=1}^n\|\mathbf{g}_i-\mathbf{g}\|^2. \tag{3.1.13}$$
#
# The expectation runs over batches drawn without replacement, and the number $S$ is the scatter of the single gradients.
# The second factor corrects for drawing without replacement and makes the scatter vanish when the batch is the whole set.
# The typical *length* of the noise falls only with the square root of the batch size: a batch four times as large halves it.
# With 6 examples we can list every batch; integer data make the sums exact.

# %%
rng = torch.Generator().manual_seed(5)
X6 = torch.randint(-4, 5, (6, 3), generator=rng).to(f64)  # last: bias
X6[:, 2] = 1
y6 = torch.randint(-9, 10, (6, 1), generator=rng).to(f64)
w6 = torch.tensor([[1.0], [-2.0], [3.0]], dtype=f64)
per_example = X6 * (X6 @ w6 - y6)  # (6, 3): row i is g_i
full = per_example.sum(dim=0) / 6  # (3,)
S = ((per_example - full) ** 2).sum(dim=1).mean()


def batch_gradients(size):
    """Gradients of all batches of a size, shape (batches, 3)."""
    batches = list(itertools.combinations(range(6), size))
    return per_example[torch.tensor(batches)].sum(dim=1) / size


# %%
# check 3.1-C4: unbiased, exactly; variance formula for all batch sizes
pairs = batch_gradients(2)  # (15, 3)
assert len(pairs) == 15
assert torch.equal(pairs.sum(dim=0) / 15, full)
for size in range(1, 7):
    scatter = ((batch_gradients(size) - full) ** 2).sum(dim=1).mean()
    formula = S / size * (6 - size) / (6 - 1)
    torch.testing.assert_close(scatter, formula, rtol=1e-12, atol=1e-12)
    print(f"batch size {size}: {math.comb(6, size):2d} batches, "
          f"scatter {scatter.item():8.3f}")

# %% [markdown]
# ### Which learning rates converge
#
# Use the column of ones again; $\mathbf{w}$ then includes the bias and has $p$ entries.
# The matrix of second derivatives of $L$ is $\mathbf{H}=\frac1n\mathbf{X}^\top\mathbf{X}\in\mathbb{R}^{p\times p}$, and since $\mathbf{X}^\top\mathbf{y}=\mathbf{X}^\top\mathbf{X}\mathbf{w}^*$, the gradient is $\nabla L(\mathbf{w})=\mathbf{H}(\mathbf{w}-\mathbf{w}^*)$.
# A full-batch step therefore multiplies the error $\mathbf{e}_t=\mathbf{w}_t-\mathbf{w}^*$ after $t$ steps by a fixed matrix:
#
# $$\mathbf{e}_{t+1} = (\mathbf{I}-\eta\mathbf{H})\,\mathbf{e}_t. \tag{3.1.14}$$
#
# $\mathbf{H}$ is symmetric, so it has orthonormal eigenvectors $\mathbf{v}_1,\dots,\mathbf{v}_p$ with eigenvalues $\lambda_1,\dots,\lambda_p\ge0$, and along each of them the error shrinks or grows on its own:
#
# $$\mathbf{v}_j^\top\mathbf{e}_t = (1-\eta\lambda_j)^t\;\mathbf{v}_j^\top\mathbf{e}_0,\qquad j=1,\dots,p. \tag{3.1.15}$$
#
# Each component is a number; it dies out if and only if $|1-\eta\lambda_j|<1$.
# With $\lambda_{\min}>0$, gradient descent converges from every start if and only if
#
# $$0<\eta<\frac2{\lambda_{\max}}, \tag{3.1.16}$$
#
# where $\lambda_{\max}$ is the largest eigenvalue of $\mathbf{H}$.
# The steepest direction limits the learning rate, and the flattest one, $\lambda_{\min}$, limits the speed.
# For example, with $\lambda_j=1$ and $\eta=0.03$, $0.97^{96}\approx0.054$ of the error are left after 96 steps; [Section 3.4](04-linear-regression-scratch.ipynb) meets this number again.

# %%
rng = torch.Generator().manual_seed(6)
X3 = torch.randn(100, 3, generator=rng, dtype=f64)
w_true = torch.tensor([[2.0], [-3.4], [4.2]], dtype=f64)
y3 = X3 @ w_true + 0.1 * torch.randn(100, 1, generator=rng, dtype=f64)
w_star = torch.linalg.lstsq(X3, y3).solution  # (3, 1)
lam, V = torch.linalg.eigh(X3.mT @ X3 / 100)  # (3,), (3, 3)
lam_max = lam[-1].item()
print("eigenvalues:", [round(v, 3) for v in lam.tolist()])


def predicted_error(lr, steps):
    """Components (3.1.15) of the error for t = 0..steps."""
    t = torch.arange(steps + 1)[:, None]  # (steps + 1, 1)
    start = -(w_star.mT @ V)  # (1, 3): the path starts at w = 0
    return (1 - lr * lam) ** t * start  # (steps + 1, 3)


# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 3.2))
steps, marked = 25, torch.arange(0, 26, 5)
for i, factor in enumerate([0.1, 1.0, 1.9, 2.1]):
    lr = factor / lam_max
    measured, expected = (torch.linalg.vector_norm(e, dim=1) for e in (
        gd_path(X3, y3, lr, steps) - w_star.mT, predicted_error(lr, steps)))
    ax.plot(measured, color=f"C{i}", ls=("-", "--", "-.", ":")[i],
            label=rf"$\eta={factor}/\lambda_{{\max}}$")
    ax.plot(marked, expected[marked], "o", ms=4, color=f"C{i}")
ax.set(xlabel="step $t$", ylabel="distance to the optimum", yscale="log")
ax.legend(loc="lower left")
d2l.describe(ax, """Distance to the optimum against the step on a log
    scale for four learning rates. Three fall, fastest for one over the
    largest eigenvalue; the one just above two over the largest
    eigenvalue grows. Dots from the formula lie on all four curves.""")

# %% [markdown]
# **Figure 3.1.5.** Lines are gradient descent, dots are formula (3.1.15).
# $1.9/\lambda_{\max}$ converges, $2.1/\lambda_{\max}$ does not.

# %%
# check 3.1-C5: threshold 2 / lambda_max, and every component as predicted
below = gd_path(X3, y3, 1.9 / lam_max, 500) - w_star.mT  # (501, 3)
above = gd_path(X3, y3, 2.1 / lam_max, 500) - w_star.mT
assert torch.linalg.vector_norm(below[-1]) < 1e-10
assert torch.linalg.vector_norm(above[-1]) > 1e6
torch.testing.assert_close(
    below @ V, predicted_error(1.9 / lam_max, 500), rtol=0, atol=1e-10)

# %% [markdown]
# Minibatch steps have the same factors on average, plus noise, which lowers the threshold ([Section 3.4](04-linear-regression-scratch.ipynb)).
#
# Area and age come in units that make the columns of very different length.
# *Standardizing*, that is, subtracting from each feature its mean and dividing by its standard deviation, makes the bowl nearly round.

# %%
mean, std = X.mean(dim=0), X.std(dim=0)  # (2,), (2,)
Z = (X - mean) / std  # (32, 2)
for name, features in (("raw", X), ("standardized", Z)):
    A = torch.cat((features, torch.ones(n, 1, dtype=f64)), dim=1)
    values = torch.linalg.eigvalsh(A.mT @ A / n)
    print(f"{name:12s}  largest stable learning rate "
          f"{2 / values[-1].item():.6f}, "
          f"lambda_max / lambda_min {values[-1] / values[0]:.1f}")

# %% [markdown]
# On the raw features the learning rate must be tiny, and the flat directions would then need an enormous number of steps.
# On the standardized ones a rate of 0.1 will do.
# The complete training program shuffles the examples and cuts the shuffled order into minibatches, which uses each example once; one such pass is an *epoch*.

# %%
rng = torch.Generator().manual_seed(7)
w = 0.01 * torch.randn(2, 1, generator=rng, dtype=f64)
b = torch.zeros(1, dtype=f64)
for epoch in range(30):
    order = torch.randperm(n, generator=rng)  # (32,)
    for batch in order.split(8):
        w, b = sgd_step(w, b, Z[batch], y[batch], lr=0.1)
optimum = fit_normal_equations(Z, y)  # (3, 1)
best_loss = squared_loss(Z @ optimum[:2] + optimum[2], y).item()
final_loss = squared_loss(Z @ w + b, y).item()
assert best_loss <= final_loss < 1.01 * best_loss
assert not torch.equal(order, torch.arange(n))  # shuffled
print(f"loss after 120 steps {final_loss:.4f}, lowest {best_loss:.4f}")

# %% [markdown]
# SGD comes within one per cent of the lowest loss.
# The lowest training loss is not even the aim: the harder task is *generalization*, small errors on houses that were not in the table ([Section 3.6](06-generalization.ipynb)).
# Where many parameter values reach the same training loss, it also matters which of them the optimizer finds.
#
# Linear regression shows this already.
# Let two columns be equal, say the area entered twice: infinitely many weight vectors fit equally well, and (3.1.7) is undefined.
# Gradient descent from 0 only adds combinations of the rows of $\mathbf{X}$, since each gradient is $\frac1n\mathbf{X}^\top(\dots)$.
# Every other solution differs from such a combination by a vector orthogonal to all rows, which makes it longer.
# So of all solutions it finds the one with the smallest norm, the one that the pseudoinverse gives; here it shares the weight evenly between the two equal columns.

# %%
# check 3.1-C9: a duplicated column; GD from 0 finds the smallest solution
X4 = torch.cat((X3, X3[:, :1]), dim=1)  # (100, 4), column 0 twice
assert torch.linalg.matrix_rank(X4) == 3
found = gd_path(X4, y3, lr=0.5, steps=500)[-1]  # (4,)
smallest = (torch.linalg.pinv(X4) @ y3)[:, 0]  # (4,)
torch.testing.assert_close(found, smallest, rtol=0, atol=1e-10)
assert abs(found[0] - found[3]) < 1e-12
assert abs(found[0] + found[3] - w_star[0, 0]) < 1e-10
print("GD:", [round(v, 3) for v in found.tolist()])

# %% [markdown]
# ### Predictions
#
# With the learned $\hat{\mathbf{w}}$ and $\hat b$ the prediction for a new example $\mathbf{x}$ is $\hat{\mathbf{w}}^\top\mathbf{x}+\hat b$.
# New features are standardized with the *training* mean and standard deviation.

# %%
new = torch.tensor([[120.0, 15.0]], dtype=f64)  # 120 m², 15 years
price = ((new - mean) / std) @ w + b  # (1, 1)
print(f"predicted price: {price.item():.2f} (100 000 euros)")
assert abs(price.item() - (0.3 + 0.03 * 120 - 0.015 * 15)) < 0.4

# %% [markdown]
# Deep learning calls this step *inference*.
# We prefer *prediction*, since in statistics inference means conclusions about the parameters or the population.

# %% [markdown]
# ## Vectorization for speed
#
# Formula (3.1.2) could be computed by a Python loop over the examples, but slowly.
# To measure how slowly we need a stopwatch that keeps its readings.

# %% tags=["export"]
class Timer:
    """Record running times in seconds.

    `start` begins, `stop` returns the seconds since then and keeps them
    in `times`; `sum`, `avg` and `cumsum` summarize them.
    """

    def __init__(self):
        self.times = []
        self.start()

    def start(self):
        self.begin = time.perf_counter()

    def stop(self):
        self.times.append(time.perf_counter() - self.begin)
        return self.times[-1]

    def avg(self):
        return self.sum() / len(self.times)

    def sum(self):
        return sum(self.times)

    def cumsum(self):
        return list(itertools.accumulate(self.times))

# %%
# check: the summaries of two readings, and what start and stop do
stopwatch = Timer()
stopwatch.times = [1.0, 3.0]
assert stopwatch.sum() == 4 and stopwatch.avg() == 2
assert stopwatch.cumsum() == [1, 4]
stopwatch.begin -= 1000  # as if started 1000 seconds ago
assert stopwatch.stop() == stopwatch.times[2] >= 1000
stopwatch.start()  # forgets them
assert stopwatch.stop() < 1000 and len(stopwatch.times) == 4

# %% [markdown]
# Add two vectors, first element by element, then with one `+`, of which we time many and keep the median.

# %% tags=["timing"]
u, v = torch.ones(vector_length), torch.ones(vector_length)
by_loop = torch.zeros(vector_length)
loop_timer = Timer()
for i in range(vector_length):
    by_loop[i] = u[i] + v[i]
loop_time = loop_timer.stop()

vector_timer = Timer()
for _ in range(101):
    vector_timer.start()
    at_once = u + v
    vector_timer.stop()
vector_time = sorted(vector_timer.times)[50]
print(f"loop {1e3 * loop_time:.1f} ms, "
      f"vectorized {1e3 * vector_time:.4f} ms")

# %% tags=["timing"]
# check 3.1-C6: equal results, and the loop is at least 100 times slower
assert torch.equal(by_loop, at_once)
assert loop_time / vector_time >= 100
print(f"ratio {loop_time / vector_time:.0f}")

# %% [markdown]
# In the loop, the interpreter, the type checks and the making of a new tensor object are paid for each element; the vectorized call pays them once and leaves the rest to compiled code that adds several numbers in one instruction.

# %% [markdown]
# ## The normal distribution and squared loss
#
# A model of the noise turns the squared loss from a convenient choice into a consequence.
# The *normal* (or *Gaussian*) distribution with mean $\mu$ and variance $\sigma^2$ has the density
#
# $$p(x) = \frac1{\sqrt{2\pi\sigma^2}}\exp\left(-\frac{(x-\mu)^2}{2\sigma^2}\right), \tag{3.1.17}$$
#
# where $x$ and $\mu$ are real numbers and $\sigma>0$ is the *standard deviation*.

# %% tags=["export"]
def normal_pdf(x, mu, sigma):
    """Normal density at `x`, a tensor of any shape.

    `sigma` is the standard deviation, not the variance.
    """
    scaled = (x - mu) / sigma
    return torch.exp(-scaled**2 / 2) / (math.sqrt(2 * math.pi) * sigma)

# %%
grid = torch.linspace(-7, 7, 281)
settings = [(0, 1), (0, 2), (3, 1)]
ax = d2l.plot(grid, [normal_pdf(grid, mu, s) for mu, s in settings],
              [rf"$\mu={mu},\ \sigma={s}$" for mu, s in settings],
              xlabel="x", ylabel="density p(x)")
d2l.describe(ax, """Three normal densities: a bell around 0, a bell around
    0 of half the height and twice the width, and the first bell moved
    to 3.""")

# %% [markdown]
# **Figure 3.1.6.** The mean moves the bell; a larger $\sigma$ makes it wider and flatter, a smaller one narrower and higher, because the area below it is always 1.

# %%
# check 3.1-C7: heights at the centre, and area one
zero, fine = torch.zeros(1), torch.linspace(-25, 28, 20_001, dtype=f64)
assert abs(normal_pdf(zero, 0, 1).item() - 0.3989) < 5e-5
assert abs(normal_pdf(zero, 0, 2).item() - 0.1995) < 5e-5
for mu, sigma in settings:
    area_below = torch.trapezoid(normal_pdf(fine, mu, sigma), fine)
    assert abs(area_below.item() - 1) < 1e-8
    builtin = torch.distributions.Normal(mu, sigma).log_prob(fine).exp()
    torch.testing.assert_close(normal_pdf(fine, mu, sigma), builtin)

# %% [markdown]
# Now assume that the labels are a linear function of the features plus normal noise, independent for each example:
#
# $$y = \mathbf{w}^\top\mathbf{x}+b+\epsilon,\qquad \epsilon\sim\mathcal{N}(0,\sigma^2). \tag{3.1.18}$$
#
# The noise $\epsilon$ is a number with mean 0 and variance $\sigma^2$.
# For given features the label is then itself normal, with mean $\mathbf{w}^\top\mathbf{x}+b$.

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 3.2))
w1, b1, sigma = 1.5, 2.9, 0.45
ends, across = torch.tensor([-1.1, 2.1]), torch.linspace(-1.5, 1.5, 101)
ax.plot(ends, w1 * ends + b1, color="black", label="mean $wx+b$")
for i, x0 in enumerate([-0.9, -0.1, 0.7, 1.5]):
    bell = 0.45 * normal_pdf(across, 0.0, sigma)  # drawn sideways
    ax.fill_betweenx(w1 * x0 + b1 + across, x0, x0 + bell, color="C4",
                     alpha=0.6, lw=0,
                     label="density of the label" if i == 0 else None)
ax.plot(x[:, 0], y[:, 0], "o", ms=4, color="C0", label="houses")
ax.set(xlabel="(area − 100 m²) / 50 m²", ylabel="price (100 000 euros)")
ax.legend(loc="upper left")
d2l.describe(ax, """A line through the houses; at four places a normal
    density is drawn sideways, centred on the line. Most houses lie where
    the densities are wide.""")

# %% [markdown]
# **Figure 3.1.7.** The noise model (3.1.18): labels near the line are likely, labels far from it very unlikely.

# %% [markdown]
# The principle of *maximum likelihood* says: choose the parameters for which the probability density of the observed labels is largest.
# Because the noise is independent, the density of all labels is a product,
#
# $$P(\mathbf{y}\mid\mathbf{X}) = \prod_{i=1}^n p\left(y^{(i)}\mid\mathbf{x}^{(i)}\right), \tag{3.1.19}$$
#
# which as a function of $\mathbf{w}$ and $b$ is called the *likelihood*; $\mathbf{y}\in\mathbb{R}^n$ holds the labels and $p(y^{(i)}\mid\mathbf{x}^{(i)})$ is (3.1.17) with mean $\mathbf{w}^\top\mathbf{x}^{(i)}+b$.
# A product of many small numbers underflows: a thousand factors of 0.3 are 0 in single precision.
# The logarithm is increasing, so it leaves the best parameters where they are and makes the product a sum; the minus sign turns the maximum into a minimum:
#
# $$-\log P(\mathbf{y}\mid\mathbf{X}) = \sum_{i=1}^n\left[\frac12\log(2\pi\sigma^2)+\frac1{2\sigma^2}\left(y^{(i)}-\mathbf{w}^\top\mathbf{x}^{(i)}-b\right)^2\right]. \tag{3.1.20}$$
#
# This is the *negative log-likelihood*, one number.
# Its first term does not depend on $\mathbf{w}$ and $b$, and its second is the squared loss times the constant $n/\sigma^2$.
# So for any fixed $\sigma$, known or not, maximum likelihood under Gaussian noise *is* least squares.
#
# For the smallest case, one example with residual 1 and $\sigma=1$, the value is $\frac12\log(2\pi)+\frac12\approx1.42$.

# %%
def negative_log_likelihood(y_hat, y, sigma):
    """Formula (3.1.20) for predictions and labels of shape (n, 1)."""
    constant = math.log(2 * math.pi * sigma**2) / 2
    return (constant + (y - y_hat) ** 2 / (2 * sigma**2)).sum()


print(f"product of 1000 factors: {torch.full((1000,), 0.3).prod():.1f}, "
      f"sum of logarithms: {torch.full((1000,), 0.3).log().sum():.0f}")
one = torch.ones(1, 1)
print(f"one residual: {negative_log_likelihood(0 * one, one, 1.0):.4f}")

# %%
# check 3.1-C8: three forms of (3.1.20); its minimum ignores sigma
y_hat = 1.3 * x + 3.0  # (32, 1), some line
# `lines` (32, 65, 65) are the predictions of all lines of Figure 3.1.2
lowest = ((lines - y[:, :, None]) ** 2).sum(dim=0).argmin()
for sigma in (0.3, 1.0, 5.0):
    own = negative_log_likelihood(y_hat, y, sigma)
    normal = torch.distributions.Normal(y_hat, sigma)
    torch.testing.assert_close(own, -normal.log_prob(y).sum())
    gaussian = nn.GaussianNLLLoss(full=True, reduction="sum")
    var = torch.full_like(y, sigma**2)
    torch.testing.assert_close(own, gaussian(y_hat, y, var))
    each = -torch.distributions.Normal(lines, sigma).log_prob(y[:, :, None])
    assert each.sum(dim=0).argmin() == lowest

# %% [markdown]
# The noise level can be estimated too: setting the derivative of (3.1.20) with respect to $\sigma^2$ to zero gives $\hat\sigma^2=\frac1n\sum_i(y^{(i)}-\hat y^{(i)})^2$, the mean of the squared residuals.
#
# The argument also shows what the squared loss assumes.
# Under a normal distribution an error of 10 standard deviations has a density that is smaller than the peak by the factor $e^{-50}$; the fit of Figure 3.1.3 bends rather than believe in something so improbable.
# The recipe is general: choose a distribution for the labels, take the negative logarithm, and minimize.
# Laplace noise, which has heavier tails, gives the absolute loss (Exercise 3.1-2), and classes give the loss of [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb).

# %%
residual = y - design @ best[:, None]  # (32, 1) at the optimum
sigma_hat = (residual**2).mean().sqrt().item()
values = [negative_log_likelihood(residual, 0 * y, sigma_hat * factor)
          for factor in (0.98, 1.0, 1.02)]
assert values[1] < values[0] and values[1] < values[2]
print(f"estimated noise level: {sigma_hat:.3f}")

# %% [markdown]
# ## Linear regression as a neural network
#
# Drawn as a graph, in which a node is a number and an arrow a weight, linear regression has $d$ input nodes and one output node.
# Every input is connected to every output, so the layer is called *fully connected* or *dense*.
#
# ![Input circles x1, x2, dots, xd at the bottom, each joined by an arrow with its weight to a single output circle o1 at the top, which also receives the bias b.](img/single-layer-network.svg)
#
# **Figure 3.1.8.** Linear regression as a network with one layer; the output $o_1$ is our $\hat y$.

# %% [markdown]
# ![Drawing of a nerve cell. On the left dendrites receive the inputs x1, x2, x3 at synapses with weights w1, w2, w3; in the middle the cell body with its nucleus sums them; the axon leads to the right to the axon terminals and on to a muscle or the next neuron.](img/neuron.svg)
#
# **Figure 3.1.9.** A nerve cell and the computation that borrows its name.

# %% [markdown]
# *Dendrites* receive signals $x_i$; each *synapse* weights its signal, to activate ($w_i>0$) or to inhibit ($w_i<0$) the cell.
# The *cell body*, not the nucleus with its genes, collects what arrives, $y=\sum_ix_iw_i+b$.
# Possibly after a nonlinear function, $\sigma(y)$, the *axon* carries the result to its *terminals* at a muscle or the next neuron.
# The comparison ends there: a real neuron has pulses, chemistry and timing that a weighted sum does not describe.

# %%
neuron = nn.Linear(2, 1, dtype=f64)  # the same unit in PyTorch
with torch.no_grad():
    neuron.weight.copy_(w.mT)  # stored as (outputs, inputs) = (1, 2)
    neuron.bias.copy_(b)
    torch.testing.assert_close(neuron(Z), Z @ w + b)

# %% [markdown]
# ## Summary
#
# - Linear regression predicts $\mathbf{w}^\top\mathbf{x}+b$ and chooses the parameters with the smallest mean squared error; they are unique exactly when the columns of the design matrix, with the column of ones, are independent.
# - The normal equations solve it in closed form but square the condition number; compute with `lstsq`.
# - Minibatch SGD needs only gradients; these are right on average, and their variance falls like one over the batch size.
# - Full-batch gradient descent converges if and only if $0<\eta<2/\lambda_{\max}$; each error component is multiplied by $1-\eta\lambda_j$ per step, so features of very different scale are slow.
# - Least squares is maximum likelihood under Gaussian noise, whatever its variance; a single outlier shows what that assumption costs.
# - As a network it is one neuron, a fully connected layer.

# %% [markdown]
# ## Exercises
#
# ### Exercise 3.1-1
#
# Which constant $b$ fits the numbers $x_1,\dots,x_n$ best, if best means the smallest $\sum_i(x_i-b)^2$?
# And if it means the smallest $\sum_i|x_i-b|$?
# How do these answers explain Figure 3.1.3?
# Try them on $(1,2,3,4,100)$.

# %% [markdown]
# #### Solution 3.1-1

# %% [markdown]
# The derivative of the first sum is $-2\sum_i(x_i-b)$, which is zero for $b=\frac1n\sum_ix_i$, the *mean*.
# This is linear regression without features, and the mean is also the maximum likelihood estimate under normal noise.
#
# The second sum has the slope (number of $x_i$ below $b$) minus (number of $x_i$ above $b$) wherever $b$ is not one of the $x_i$.
# It changes its sign at the *median*.
# Moving the largest number further away moves the mean but not the median: a squared loss follows an outlier, an absolute loss only counts on which side it lies.

# %%
numbers = torch.tensor([1.0, 2, 3, 4, 100])
candidates = torch.arange(0, 101)[:, None]  # (101, 1)
squares = ((numbers - candidates) ** 2).sum(dim=1)
absolutes = (numbers - candidates).abs().sum(dim=1)
print("squared:", squares.argmin().item(), " absolute:",
      absolutes.argmin().item())
assert squares.argmin() == 22 == numbers.mean()
assert absolutes.argmin() == 3 == numbers.median()

# %% [markdown]
# ### Exercise 3.1-2
#
# Let the noise have the density $p(\epsilon)=\frac12e^{-|\epsilon|}$.
# (It is the *Laplace* density; some texts call it exponential, which is its one-sided relative.)
# Write down the negative log-likelihood, find its gradient, and look for a closed form.
# Run gradient descent with a constant learning rate on the constant model of Exercise 3.1-1: what goes wrong near the optimum, and what helps?

# %% [markdown]
# #### Solution 3.1-2

# %% [markdown]
# Taking logarithms,
# $-\log P(\mathbf{y}\mid\mathbf{X})=n\log2+\sum_i|y^{(i)}-\mathbf{w}^\top\mathbf{x}^{(i)}-b|$: maximum likelihood minimizes the *absolute* loss.
# With $r^{(i)}=\mathbf{w}^\top\mathbf{x}^{(i)}+b-y^{(i)}$ its gradient is $\sum_i\operatorname{sign}(r^{(i)})\,\mathbf{x}^{(i)}$ for $\mathbf{w}$ and $\sum_i\operatorname{sign}(r^{(i)})$ for $b$, wherever no residual is 0.
# Setting it to zero gives no linear equations, since the signs depend on the solution; there is no closed form (linear programming solves it).
#
# The gradient tells the direction but not the distance: it does not get smaller near the optimum.
# So with a constant learning rate the iterates keep jumping back and forth over the optimum.
# A learning rate that falls with time cures it, and so does the Huber loss of [Section 3.5](05-linear-regression-concise.ipynb), which is quadratic near 0.

# %%
rng = torch.Generator().manual_seed(9)
yl, weight = torch.randn(6, 1, generator=rng, dtype=f64), w6.clone()
weight.requires_grad_()
r = X6 @ weight - yl  # (6, 1)
loss = r.abs().sum()
loss.backward()
laplace = torch.distributions.Laplace(torch.zeros(1, dtype=f64), 1.0)
nll = -laplace.log_prob(r).sum()
torch.testing.assert_close(nll, 6 * math.log(2) + loss)
torch.testing.assert_close(weight.grad, X6.mT @ r.detach().sign())
assert not w6.requires_grad  # the copy records gradients, w6 does not

# %%
def descend(rate, steps=2000):
    """Gradient descent for the best constant under absolute loss."""
    b, path = 0.01, []
    for t in range(steps):
        b -= rate(t) * (b - numbers).sign().mean().item()
        path.append(b)
    return path


constant = descend(lambda t: 0.5)
falling = descend(lambda t: 0.5 * 50 / (50 + t))
last = constant[-100:]
print(f"constant rate: between {min(last):.2f} and {max(last):.2f}; "
      f"falling rate: {falling[-1]:.2f}")
assert min(last) < 3 - 0.005 and max(last) > 3 + 0.005
assert max(last) - min(last) > 0.09
assert abs(falling[-1] - 3) < 0.01

# %% [markdown]
# ### Exercise 3.1-3
#
# Let one column of $\mathbf{X}$ be a copy of another; then $\mathbf{X}^\top\mathbf{X}$ has no inverse.
# What happens to the condition number of $\mathbf{X}^\top\mathbf{X}$ if you add independent noise of standard deviation $\sigma$ to all entries of $\mathbf{X}$, and what if you add $n\lambda\mathbf{I}$ to $\mathbf{X}^\top\mathbf{X}$?
# Show that on average the two are the same for $\lambda=\sigma^2$.

# %% [markdown]
# #### Solution 3.1-3

# %% [markdown]
# Let $\mathbf{N}\in\mathbb{R}^{n\times p}$ be the noise.
# Then $(\mathbf{X}+\mathbf{N})^\top(\mathbf{X}+\mathbf{N})=\mathbf{X}^\top\mathbf{X}+\mathbf{X}^\top\mathbf{N}+\mathbf{N}^\top\mathbf{X}+\mathbf{N}^\top\mathbf{N}$.
# The two middle terms have mean zero, and $E[\mathbf{N}^\top\mathbf{N}]=n\sigma^2\mathbf{I}$, because different columns are independent and each column has $n$ entries of variance $\sigma^2$.
# So noise on the features acts on average like *ridge* regression, which adds $n\lambda\mathbf{I}$ and raises every eigenvalue by $n\lambda$.
# The smallest eigenvalue is no longer 0, and the condition number falls to a finite value.
# The price is a bias towards small weights, which [Section 3.7](07-weight-decay.ipynb) turns into a virtue.

# %%
sigma, eye = 0.1, torch.eye(4, dtype=f64)
gram = X4.mT @ X4  # (4, 4), singular
ridge = gram + 100 * sigma**2 * eye
rng = torch.Generator().manual_seed(10)
N = sigma * torch.randn(2000, 100, 4, generator=rng, dtype=f64)
noisy = (X4 + N).mT @ (X4 + N)  # (2000, 4, 4)
for name, matrix in (("ridge", ridge), ("one noisy copy", noisy[0])):
    kappa = torch.linalg.cond(matrix)
    assert kappa < 1000 and torch.linalg.cond(gram) > 1e12
    print(f"{name}: condition number {kappa.item():.0f}")
added = noisy.mean(dim=0) - gram  # expected: n sigma^2 I = I
print("added on average to the diagonal:",
      [round(v, 2) for v in added.diagonal().tolist()])
torch.testing.assert_close(added, 100 * sigma**2 * eye, rtol=0, atol=0.2)

# %% [markdown]
# ### Exercise 3.1-4
#
# The label is a count: how many visitors a house gets in a week.
# Counts are often modelled by the *Poisson* distribution $P(y=k)=\mu^ke^{-\mu}/k!$ with mean $\mu>0$.
# Why is (3.1.18) a poor model for counts?
# Let $\mu=e^o$ with $o=\mathbf{w}^\top\mathbf{x}+b$, derive the loss, and find its derivative with respect to $o$.

# %% [markdown]
# #### Solution 3.1-4

# %% [markdown]
# Normal noise allows negative and fractional labels, and it gives counts of every size the same variance, while large counts scatter more.
# The negative logarithm of the probability is $\mu-y\log\mu+\log y!$, and with $\mu=e^o$ the loss is
# $e^o-yo$, up to the term $\log y!$ without parameters.
# The exponential keeps the mean positive for any real $o$.
# The derivative is $e^o-y$: prediction minus label, the same form as for the squared loss.

# %%
o = torch.linspace(-2, 2, 9, dtype=f64, requires_grad=True)
counts = torch.tensor([0, 1, 0, 2, 1, 3, 5, 4, 8], dtype=f64)
own = torch.exp(o) - counts * o  # (9,)
builtin = F.poisson_nll_loss(o, counts, log_input=True, full=False,
                             reduction="none")
torch.testing.assert_close(own, builtin)
exact = -torch.distributions.Poisson(torch.exp(o)).log_prob(counts)
torch.testing.assert_close(own + torch.lgamma(counts + 1), exact)
own.sum().backward()
torch.testing.assert_close(o.grad, torch.exp(o.detach()) - counts)

# %% [markdown]
# ### Exercise 3.1-5
#
# Feed the output of one linear layer into another, as a first attempt at a deep network.
# What can the two layers express that one cannot?

# %% [markdown]
# #### Solution 3.1-5

# %% [markdown]
# Nothing.
# With $\mathbf{h}=\mathbf{W}_1\mathbf{x}+\mathbf{b}_1$ and $\mathbf{o}=\mathbf{W}_2\mathbf{h}+\mathbf{b}_2$,
# $\mathbf{o}=(\mathbf{W}_2\mathbf{W}_1)\mathbf{x}+(\mathbf{W}_2\mathbf{b}_1+\mathbf{b}_2)$, which is one layer.
# It may even express less: $\mathbf{W}_2\mathbf{W}_1$ has at most the rank of the narrower of the two.
# Depth pays only with something nonlinear in between, the subject of [Section 5.1](../05-multilayer-perceptrons/01-multilayer-perceptrons.ipynb).

# %%
rng = torch.Generator().manual_seed(11)
W1, b1 = (torch.randn(2, 5, generator=rng, dtype=f64),
          torch.randn(2, generator=rng, dtype=f64))
W2, b2 = (torch.randn(4, 2, generator=rng, dtype=f64),
          torch.randn(4, generator=rng, dtype=f64))
inputs = torch.randn(7, 5, generator=rng, dtype=f64)  # (batch, features)
two = F.linear(F.linear(inputs, W1, b1), W2, b2)  # (7, 4)
one_layer = F.linear(inputs, W2 @ W1, W2 @ b1 + b2)
torch.testing.assert_close(two, one_layer)
assert torch.linalg.matrix_rank(W2 @ W1) == 2  # a free (4, 5) can have 4

# %% [markdown]
# ### Exercise 3.1-6
#
# The label is $y=x_1x_2$, a house priced by length times width.
# No linear function of $x_1$ and $x_2$ equals it.
# Which features make linear regression exact, and is the model still linear?

# %% [markdown]
# #### Solution 3.1-6

# %% [markdown]
# Add the products of degree 2: $(x_1,x_2,x_1^2,x_2^2,x_1x_2)$.
# The model is linear in the *parameters*, and that is all that the derivation of (3.1.7) needs.
# Here the weight of $x_1x_2$ is 1 and the others are 0.
# The catch is the number of such features, which grows quickly with $d$ and the degree; Sections 3.6 and 3.7 return to it.

# %%
rng = torch.Generator().manual_seed(12)
sides = 1 + torch.rand(50, 2, generator=rng, dtype=f64)  # (50, 2)
x1, x2 = sides[:, :1], sides[:, 1:]
product = x1 * x2  # (50, 1)
one_col = torch.ones_like(x1)


def largest_residual(*columns):
    """Largest residual of least squares on these columns and a bias."""
    A = torch.cat((*columns, one_col), dim=1)
    fit = torch.linalg.lstsq(A, product).solution
    return (A @ fit - product).abs().max().item()


assert largest_residual(x1, x2) > 0.05
assert largest_residual(x1, x2, x1**2, x2**2, x1 * x2) < 1e-10

# %% [markdown]
# ## Sources
#
# - A.-M. Legendre, *Nouvelles méthodes pour la détermination des orbites des comètes*, 1805: least squares; C. F. Gauss, *Theoria motus*, 1809: its derivation from normal errors.
# - L. N. Trefethen and D. Bau, *Numerical Linear Algebra*, 1997, [doi:10.1137/1.9780898719574](https://doi.org/10.1137/1.9780898719574): conditioning of least squares.
# - H. Robbins and S. Monro, A stochastic approximation method, 1951, [doi:10.1214/aoms/1177729586](https://doi.org/10.1214/aoms/1177729586); L. Bottou, F. E. Curtis and J. Nocedal, Optimization methods for large-scale machine learning, 2018, [arXiv:1606.04838](https://arxiv.org/abs/1606.04838).
# - W. G. Cochran, *Sampling Techniques*, 1977: variance of means drawn without replacement.
# - C. Zhang et al., Understanding deep learning requires rethinking generalization, 2017, [arXiv:1611.03530](https://arxiv.org/abs/1611.03530): gradient descent and the smallest solution.
# - P. J. Huber, Robust estimation of a location parameter, 1964, [doi:10.1214/aoms/1177703732](https://doi.org/10.1214/aoms/1177703732): outliers.
# - C. M. Bishop, Training with noise is equivalent to Tikhonov regularization, 1995, [doi:10.1162/neco.1995.7.1.108](https://doi.org/10.1162/neco.1995.7.1.108): Exercise 3.1-3.
# - W. S. McCulloch and W. Pitts, A logical calculus of the ideas immanent in nervous activity, 1943, [doi:10.1007/BF02478259](https://doi.org/10.1007/BF02478259): the formal neuron.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
