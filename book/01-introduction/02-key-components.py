# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke: {}
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
# # 1.2 Key components
#
# The detector of [Section 1.1](01-motivating-example.ipynb) learned from examples.
# Which of its parts belong to that one problem, and which are in every learning program?
# There are four: the data, the model, the objective, and the algorithm that optimizes it.
# Once you can point to them, you can replace one and keep the others, and that is what most of this book does.

# %% [markdown]
# **You will**
#
# - point to the four parts in any learning program, and replace one of them;
# - say why the number that is optimized is not always the number that we care about;
# - watch the error on the training data and on new data part company;
# - measure what happens to a group that the data forgot.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ![Block diagram of the four parts. Data, with inputs and labels, go to the model and to the objective; the model turns inputs into predictions; the objective compares predictions with labels and gives a number; the optimization algorithm uses it to change the parameters of the model.](img/four-parts.svg)
#
# **Figure 1.2.1.** The four parts, and what passes between them.
# The loop on the right is training.

# %% [markdown]
# ## Data
#
# Data come as *examples*, also called data points, instances or samples.
# An example is described by *features*, also called covariates or inputs.
# In a supervised problem it has a *label*, also called target, which we want to predict from the features.
#
# If every example is described by the same number of features, the examples are vectors of a fixed length, and this length is the *dimensionality* of the data.
# A colour picture of $200\times200$ pixels has three numbers for each pixel:

# %%
# check 1.2-C1: the dimensionality of a small colour picture
print(torch.zeros(200, 200, 3).numel())
assert torch.zeros(200, 200, 3).numel() == 120_000

# %% [markdown]
# Not all data fit into such a mould.
# Reviews have as many words as their authors liked, and pictures from the web come in all sizes.
# Cutting everything to one size throws something away; one of the merits of deep models is that they handle data of *varying length* more gracefully.
#
# More data allow stronger models that assume less.
# But it must be the *right* data.
# If the labels are wrong, the model learns what is wrong: garbage in, garbage out.
# If a group of people is missing from the data, the model has no reason to be right about them.
# And if the labels record past prejudice, as decisions on hiring, loans and policing do, a model that predicts them well repeats it, with the authority of a computer.
# We will measure the second case below.
#
# Our data: thirty points near a line.

# %%
rng = torch.Generator().manual_seed(1)
x = 2 * torch.rand(30, generator=rng) - 1                  # (30,)
y = 0.8 * x + 0.3 + 0.2 * torch.randn(30, generator=rng)   # (30,)

# %% [markdown]
# ## Model
#
# A *model* is the machinery that takes data of one kind and returns predictions of another: a picture in, the name of an animal out.
# We are interested in models that are *estimated from data*: the form is fixed by us, and the parameters are found.
# Simple models answer simple questions.
# A *deep* model chains many transformations, one after the other, each with parameters of its own.
#
# Ours has a single one, with two parameters, the slope $w$ and the intercept $b$:
#
# $$
# \hat y = wx+b, \tag{1.2.1}
# $$
#
# where $x$ is the feature and $\hat y$ the prediction, both numbers.

# %%
def model(x, w, b):
    return w * x + b

# %% [markdown]
# ## Objective function
#
# Learning means getting better, and so somebody has to say what better is.
# An *objective function* does: a number for each setting of the parameters.
# By convention lower is better, and the objective is then called a *loss*.
# Nothing is lost by the convention: to maximize $f$ is to minimize $-f$.
# For predicted numbers the usual loss is the mean of the squared errors,
#
# $$
# L(w,b) = \frac1n\sum_{i=1}^n\left(w x_i+b-y_i\right)^2, \tag{1.2.2}
# $$
#
# where $n$ is the number of examples, and $x_i$ and $y_i$ are the feature and the label of example $i$.
# It is a function of the *parameters*, with the data held fixed.

# %%
def objective(w, b):
    return (model(x, w, b) - y).square().mean()

# %%
# check 1.2-C5: minimizing f and maximizing -f give the same parameters
grid = torch.linspace(-2, 2, 401)
losses = torch.stack([objective(w, 0.3) for w in grid])
assert losses.argmin() == (-losses).argmax()
print("best slope on the grid:", round(grid[losses.argmin()].item(), 2))

# %% [markdown]
# ## Optimization algorithm
#
# The objective says how good the parameters are; an *optimization algorithm* looks for better ones.
# Nearly all of deep learning uses one idea, *gradient descent*: ask for each parameter how the loss would change if it were moved a little, then move all of them a little in the direction in which the loss falls.

# %%
def step(w, b, lr):
    """New w and b after one step of size lr downhill."""
    w, b = (torch.tensor(v, requires_grad=True) for v in (w, b))
    slope_w, slope_b = torch.autograd.grad(objective(w, b), (w, b))
    return (w - lr * slope_w).item(), (b - lr * slope_b).item()

# %% [markdown]
# How large may a step be?
# For this loss there is an exact answer: below $2/\lambda_{\max}$ it falls in every step, where $\lambda_{\max}$ is the largest curvature of the loss ([Section 3.1](../03-linear-regression/01-linear-regression.ipynb) proves it).
# We take a quarter of that.

# %%
# check 1.2-C2: the objective falls in each of 50 steps
A = torch.stack([x, torch.ones(30)], dim=1)          # (30, 2)
largest = torch.linalg.eigvalsh(2 * A.T @ A / 30)[-1].item()
w, b, path = 0.0, 0.0, []
for _ in range(50):
    path.append(objective(w, b).item())
    w, b = step(w, b, lr=0.5 / largest)
print(f"w = {w:.2f}, b = {b:.2f}, loss from {path[0]:.3f} to {path[-1]:.3f}")
assert all(after < before for before, after in zip(path, path[1:]))

# %% [markdown]
# Four cells, four parts.
# Each of them could be exchanged without touching the others, and Exercise 1.2-2 does it.

# %% [markdown]
# ## The number we want and the number we optimize
#
# For classes instead of numbers the natural objective is the *error rate*, the share of wrong answers.
# It is what we care about, and it is useless for gradient descent.
#
# Take a classifier with a single parameter, a threshold $t$: answer "yes" if the feature is above $t$.
# Move $t$ a little, and usually not a single answer changes: the error rate is a staircase, flat almost everywhere.
# On a flat floor there is no direction downhill.

# %%
rng = torch.Generator().manual_seed(3)
yes = torch.arange(40) % 2                                # labels 0 and 1
feature = 1.5 * yes - 0.75 + torch.randn(40, generator=rng)

def error_rate(t):
    return ((feature > t) != (yes == 1)).float().mean()

def surrogate(t):
    """Logistic loss of the score feature - t, smooth in t."""
    sign = 2.0 * yes - 1
    return torch.nn.functional.softplus(-sign * (feature - t)).mean()

# %%
# check 1.2-C3: a comparison has no gradient
t = torch.tensor(0.2, requires_grad=True)
print("error rate can be differentiated:", error_rate(t).requires_grad)
assert not error_rate(t).requires_grad

# %%
# check 1.2-C4: the surrogate has one, at the same point
slope, = torch.autograd.grad(surrogate(t), t)
print("slope of the surrogate:", round(slope.item(), 3))
assert slope.abs() > 1e-3

# %% [markdown]
# The way out is a *surrogate*: another function, smooth, that is small where the error rate is small.
# The one above rewards answers that are right by a wide margin and punishes those that are wrong by a wide margin; it is the loss of logistic regression.

# %%
ts = torch.linspace(-3, 3, 601)
ax = d2l.plot(ts, [torch.stack([error_rate(v) for v in ts]),
                   torch.stack([surrogate(v) for v in ts])],
              ["error rate", "surrogate"], xlabel="threshold $t$",
              ylabel="objective", fmts=["-", "--"])
d2l.describe(ax, "Two curves over the threshold. The error rate is a "
             "staircase, flat between its jumps, lowest near zero. The "
             "surrogate is a smooth bowl with its lowest point near the "
             "same place.")

# %% [markdown]
# **Figure 1.2.2.** What we want to be small, and what can be made small.
# The staircase has slope 0 almost everywhere, the bowl shows the way.

# %% [markdown]
# ## Training and test
#
# The loss on the examples that were used for training, the *training set*, says how well the model has adapted to them.
# Whether it has learned anything is another matter, and needs examples that were kept aside, the *test set*.
# A student who has memorized the questions of old exams does well on these, and on these only.
# The old exams are the training set, the final is the test.
# A model that is good on the former and bad on the latter is said to *overfit*.
#
# It shows as soon as the model has more freedom than the data can control.
# We give ours 20 parameters, a polynomial of degree 19, and 24 noisy points.

# %%
rng = torch.Generator().manual_seed(9)
def noisy_points(n):
    at = 2 * torch.rand(n, generator=rng, dtype=torch.float64) - 1
    noise = torch.randn(n, generator=rng, dtype=torch.float64)
    powers = torch.cos(torch.arange(20) * torch.acos(at)[:, None])  # (n, 20)
    return powers, torch.sin(3 * at) + 0.4 * noise


P, target = noisy_points(24)
P_new, target_new = noisy_points(500)
weights = torch.zeros(20, dtype=torch.float64)
train, test = [], []
for _ in range(3000):
    train.append((P @ weights - target).square().mean().item())
    test.append((P_new @ weights - target_new).square().mean().item())
    weights -= 0.05 * 2 * P.T @ (P @ weights - target) / len(target)

# %%
shown = torch.logspace(0, 3.477, 120).long().unique() - 1
ax = d2l.plot(shown + 1, [torch.tensor(train)[shown],
                          torch.tensor(test)[shown]],
              ["training", "test"], xlabel="step", ylabel="squared error",
              xscale="log")
ax.axhline(0.16, color="gray", lw=1, ls=":")
ax.text(1, 0.17, "noise", fontsize=9, color="dimgray")
d2l.describe(ax, "Squared error over three thousand steps. The error on the "
             "training points falls all the time, below the level of the "
             "noise. The error on new points falls at first and then rises.")

# %% [markdown]
# **Figure 1.2.3.** The training error falls as long as we like; the test error turns back.
# Below the dotted line the model is learning the noise.

# %%
best = min(test)
print(f"test error: best {best:.2f}, at the end {test[-1]:.2f}")
assert train[-1] < 0.16 < best < test[-1] / 2

# %% [markdown]
# [Section 3.6](../03-linear-regression/06-generalization.ipynb) is about what can be done, and how to notice in time.

# %% [markdown]
# ## A group that the data forgot
#
# What does a model do for people who were not in its data?
# Suppose that a drug helps in proportion to its dose, and that for one group in the population it works the other way.
# We fit a line to data in which this group is rare, and measure the error for each group.

# %%
def two_groups(share, n, generator):
    """Dose, effect and group: slope 1 for group 0 and -1 for group 1."""
    group = torch.rand(n, generator=generator) < share
    dose = 2 * torch.rand(n, generator=generator) - 1
    noise = 0.1 * torch.randn(n, generator=generator)
    return dose, torch.where(group, -dose, dose) + noise, group

rng = torch.Generator().manual_seed(6)
new_dose, new_effect, group = two_groups(0.5, 2000, rng)
for share in (0.5, 0.1, 0.0):
    dose, effect, _ = two_groups(share, 1000, rng)
    slope = (dose @ effect) / (dose @ dose)  # least squares
    errors = [(slope * new_dose - new_effect)[group == g].square().mean()
              for g in (0, 1)]
    print(f"share {share:3}: error of group 0 {errors[0]:.2f}, "
          f"of group 1 {errors[1]:.2f}")
assert errors[1] > 20 * errors[0]

# %% [markdown]
# With equal shares the line is equally bad for both.
# The rarer the second group is in the data, the better the model serves the first and the worse the second, although every step of the optimization did what it should.
# The average error over the data would never show it; one has to ask for each group.

# %% [markdown]
# ## Summary
#
# - Every learning program has data, a model with parameters, an objective, and an optimization algorithm; each can be replaced alone.
# - The objective is a function of the parameters, with the data fixed.
# - The error rate is flat almost everywhere, so that a smooth surrogate is optimized in its place.
# - Training error can always be lowered by more freedom; the test error decides.
# - Who is missing from the data is missing from the objective.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.2-1
#
# Name the four parts of ten systems: a thermometer that is calibrated, a spam filter, a chess program that learns from its games, a weather forecast, a recommender of films, a speech recognizer, a spell checker, a credit score, a self-driving car, a translator.

# %% [markdown]
# #### Solution 1.2-1
#
# Many answers are possible; these are typical.
#
# | System | Data | Model | Objective | Optimization |
# | --- | --- | --- | --- | --- |
# | thermometer | voltage and temperature | line | squared error | formula |
# | spam filter | mails with marks | logistic regression | cross-entropy | gradient descent |
# | chess program | its own games | value of a position | error of the predicted result | gradient descent |
# | weather forecast | past states of the air | network on a grid | squared error | gradient descent |
# | films | ratings | product of vectors | squared error | alternating least squares |
# | speech | recordings with text | Transformer | cross-entropy of letters | gradient descent |
# | spell checker | texts | counts of words | likelihood | counting |
# | credit score | repaid or not | decision trees | cross-entropy | greedy splits |
# | car | drives of people | network on camera pictures | distance to the driven path | gradient descent |
# | translator | pairs of sentences | Transformer | cross-entropy of words | gradient descent |
#
# Data and model differ most, the optimization hardly at all.

# %% [markdown]
# ### Exercise 1.2-2
#
# Replace the squared by the absolute error, in one cell only, and train again.

# %% [markdown]
# #### Solution 1.2-2
#
# Only `objective` changes; `model` and `step` are the functions from above and know nothing of it.
# The slope of $|e|$ does not shrink near the optimum, so the step size is made smaller.

# %%
def objective(w, b):
    return (model(x, w, b) - y).abs().mean()

w, b, path = 0.0, 0.0, []
for _ in range(100):
    path.append(objective(w, b).item())
    w, b = step(w, b, lr=0.05)
print(f"absolute error from {path[0]:.3f} to {path[-1]:.3f}")
assert path[-1] < path[0] / 2

# %% [markdown]
# ### Exercise 1.2-3
#
# Make a data set with two groups in the proportion 99 to 1, with slopes $-1$ and $1$ and noise 0.1, fit one line, and report the error for each group.

# %% [markdown]
# #### Solution 1.2-3
#
# The line follows the majority.
# Its error there is the variance of the noise, about 0.01, and for the rare group about $E[(2x)^2]=4/3$ more.

# %%
rng = torch.Generator().manual_seed(9)
dose, effect, rare = two_groups(0.01, 20_000, rng)
effect = -effect  # slope -1 for the majority, 1 for the others
slope = (dose @ effect) / (dose @ dose)
square = (slope * dose - effect).square()
ratio = square[rare].mean() / square[~rare].mean()
print(f"{square[rare].mean():.2f} and {square[~rare].mean():.3f}")
assert ratio > 20

# %% [markdown]
# ### Exercise 1.2-4
#
# How many numbers are in one minute of stereo sound at 44.1 kHz?

# %% [markdown]
# #### Solution 1.2-4
#
# Two channels with 44 100 numbers a second, for 60 seconds.

# %%
assert 2 * 44_100 * 60 == 5_292_000

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the four components.
# - P. L. Bartlett, M. I. Jordan, J. D. McAuliffe (2006). Convexity, classification, and risk bounds. [doi:10.1198/016214505000000907](https://doi.org/10.1198/016214505000000907): when minimizing a surrogate minimizes the error rate.
# - S. Barocas, M. Hardt, A. Narayanan (2023). Fairness and Machine Learning. MIT Press, [fairmlbook.org](https://fairmlbook.org/): data, prejudice and what averages hide.
