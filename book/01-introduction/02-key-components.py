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
# Which of its parts belong to that one problem, and which does it share with other learning programs?
# Four are shared: the data, the model, the objective, and the algorithm that optimizes it.
# Once you can point to them, you can replace one and keep the others, as most of this book does.

# %% [markdown]
# **You will**
#
# - point to the four parts in any learning program, and replace one of them;
# - say why the number that is optimized is not always the number that we care about;
# - watch the error on new data rise while the error on the training data still falls;
# - measure what happens to a group that the data forgot.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import math

import torch
from torch import nn
from torch.nn import functional as F

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
picture = torch.zeros(200, 200, 3)  # height, width, colour
print(picture.numel())
assert picture.flatten().shape == (120_000,)

# %% [markdown]
# Not all data have a fixed length.
# Reviews have as many words as their authors liked, and pictures from the web come in all sizes.
# A model with one parameter for each number needs everything cut or scaled to one size.
# Many deep models handle data of *varying length* more gracefully, because they apply the same small set of parameters at every place and combine what they found.
# The next cell shows both: a layer with one weight for each of the 120 000 numbers refuses another picture, while a small filter that slides over the picture, followed by an average, takes any size.

# %%
one_for_each = nn.Linear(120_000, 5)  # 5 scores from a fixed length
sliding = nn.Sequential(nn.Conv2d(3, 5, kernel_size=3),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten())
small, wide = torch.zeros(1, 3, 200, 200), torch.zeros(1, 3, 150, 400)
answers = []
for name, layer, flat in (("one for each", one_for_each, True),
                          ("sliding", sliding, False)):
    size = sum(p.numel() for p in layer.parameters())
    for X in (small, wide):
        try:
            shape = tuple(layer(X.flatten(1) if flat else X).shape)
            answer = f"gives {shape[1]} scores"
        except RuntimeError:
            answer = "fails"
        answers.append(answer)
        print(f"{name:12s} ({size:6d} parameters): picture of "
              f"{X.shape[2]} x {X.shape[3]} {answer}")
assert answers == ["gives 5 scores", "fails"] + 2 * ["gives 5 scores"]

# %% [markdown]
# More data allow stronger models that assume less.
# But it must be the *right* data.
# If the labels are wrong, the model learns what is wrong: garbage in, garbage out.
# If a group of people is missing from the data, the model has no reason to be right about them.
# And if the labels record past prejudice, as past decisions on hiring, loans and policing can, a model that predicts them well repeats it, with the authority of a computer.
# We will measure the second case below.
#
# Our data are thirty points near a line.
# The two numbers behind them, slope 0.8 and intercept 0.3, are what a learning program should find without being told.

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
# Learning means getting better, so we have to say what better is.
# An *objective function* does that: it gives a number for each setting of the parameters.
# By convention lower is better, and the objective is then called a *loss*.
# Nothing is lost by the convention: to maximize $f$ is to minimize $-f$.
# For predicted numbers the usual loss is the mean of the squared errors,
#
# $$
# L(w,b) = \frac1n\sum_{i=1}^n\left(w x_i+b-y_i\right)^2, \tag{1.2.2}
# $$
#
# where $n$ is the number of examples, and $x_i$ and $y_i$ are the feature and the label of example $i$.
# For a single example with $x=2$ and $y=5$ the parameters $w=1$, $b=1$ predict 3 and pay $(3-5)^2=4$.
#
# The loss is a function of the *parameters*, with the data held fixed.
# The function in code says so: its arguments are $w$ and $b$, and the data are simply there.

# %%
def objective(w, b):
    return (model(x, w, b) - y).square().mean()

# %%
# check 1.2-C5: minimizing f and maximizing -f give the same parameters
grid = torch.linspace(-2, 2, 401)
losses = torch.stack([objective(w, 0.3) for w in grid])
lowest, highest = grid[losses.argmin()], grid[(-losses).argmax()]
exact = x @ (y - 0.3) / (x @ x)  # where the derivative of L is 0
print(f"best slope on the grid {lowest:.2f}, by calculus {exact:.4f}")
assert lowest == highest and (lowest - exact).abs() < 0.006

# %% [markdown]
# ## Optimization algorithm
#
# The objective says how good the parameters are; an *optimization algorithm* looks for better ones.
# Nearly all of deep learning uses one idea, *gradient descent*: ask for each parameter how the loss would change if it were moved a little, then move all of them a little in the direction in which the loss falls.
#
# We can ask quite literally: move one parameter by a thousandth and see what happens.

# %%
now = objective(0.0, 0.0)
print(f"loss at w = 0, b = 0: {now:.4f}")
for name, moved in (("w", objective(0.001, 0.0)),
                    ("b", objective(0.0, 0.001))):
    change = (moved - now).item() / 0.001
    print(f"move {name} by 0.001: the loss changes by {change:.3f} per unit")

# %% [markdown]
# Both numbers are negative, so both parameters should grow.
# These rates of change are the *partial derivatives* of the loss, and the list of them is its *gradient*.
# With a million parameters a million trials would be needed for a single step; PyTorch computes all of them at the price of a few evaluations of the loss, and exactly up to rounding ([Section 2.5](../02-preliminaries/05-automatic-differentiation.ipynb) shows how).
# One step of gradient descent is
#
# $$
# w \leftarrow w-\eta\,\frac{\partial L}{\partial w},\qquad b \leftarrow b-\eta\,\frac{\partial L}{\partial b}, \tag{1.2.3}
# $$
#
# where the number $\eta>0$, in code `lr`, is the *learning rate*, and both derivatives, numbers as well, are taken at the old $w$ and $b$.

# %%
def step(w, b, lr):
    """New w and b after one step downhill."""
    w, b = (torch.tensor(v, requires_grad=True) for v in (w, b))
    slope_w, slope_b = torch.autograd.grad(objective(w, b), (w, b))
    return (w - lr * slope_w).item(), (b - lr * slope_b).item()


one_step = step(0.0, 0.0, lr=1.0)
print("derivatives:", [f"{-moved:.3f}" for moved in one_step])

# %% [markdown]
# A step from zero with $\eta=1$ moves each parameter by minus its derivative, which is how the cell gets at the derivatives.
# They are the numbers that we found by trial, up to the thousandth that we moved.

# %% [markdown]
# How large may a step be?
# For this loss there is an exact answer: below $2/\lambda_{\max}$ it falls in every step, where $\lambda_{\max}$ is the largest curvature of the loss ([Section 3.1](../03-linear-regression/01-linear-regression.ipynb) proves it).
# We take a quarter of that.

# %%
# check 1.2-C2: the objective falls in each of 50 steps
A = torch.stack([x, torch.ones(30)], dim=1)          # (30, 2)
largest = torch.linalg.eigvalsh(2 * A.mT @ A / 30)[-1].item()
w, b, path = 0.0, 0.0, [(0.0, 0.0)]
for _ in range(50):
    w, b = step(w, b, lr=0.5 / largest)
    path.append((w, b))
falling = [objective(*point).item() for point in path]  # 51 losses
print(f"w = {w:.2f}, b = {b:.2f}, loss from {falling[0]:.3f} "
      f"to {falling[-1]:.3f}")
assert all(new < old for old, new in zip(falling, falling[1:]))
assert abs(w - 0.8) < 0.2 and abs(b - 0.3) < 0.2

# %% [markdown]
# Move the slider to watch the search.
# On the left are the data and the line that the current parameters draw; on the right the same parameters are a point in the landscape of the loss.

# %% tags=["hide-input"]
w_axis, b_axis = torch.linspace(-0.4, 1.6, 61), torch.linspace(-0.5, 0.9, 61)
surface = torch.stack([torch.stack([objective(p, q) for p in w_axis])
                       for q in b_axis])  # (61, 61): rows b, columns w


def draw(fig, steps):
    left, right = fig.subplots(1, 2)
    w, b = path[int(steps)]
    left.vlines(x, y, model(x, w, b), color="C1", lw=1)
    left.plot(x, y, "o", ms=4)
    left.plot([-1, 1], [b - w, b + w], color="black")
    left.set(xlabel="x", ylabel="y", ylim=(-1.2, 1.6))
    left.set_title(f"loss {objective(w, b).item():.3f}")
    right.contour(w_axis, b_axis, surface, 12, colors="#999999",
                  linewidths=1)
    ws, bs = zip(*path[:int(steps) + 1])
    right.plot(ws, bs, "o-", ms=4, color="C1")
    right.plot(w, b, "o", ms=9, color="black")
    right.set(xlabel="w", ylabel="b", title=f"w = {w:.2f}, b = {b:.2f}")


d2l.sliders(draw, """Left: thirty points, the current line and its errors as
    vertical segments. Right: rings of equal loss over w and b, and the path
    of gradient descent from the origin towards the centre.""",
    figsize=(6.4, 2.8), steps=[0, 1, 2, 3, 4, 6, 8, 12, 20, 50])

# %% [markdown]
# **Figure 1.2.2.** Gradient descent on (1.2.2): the line turns into the data (left) while the parameters walk downhill across the rings of equal loss (right).

# %% [markdown]
# Four cells, four parts.
# Exercise 1.2-2 exchanges one of them without touching the others.
# The classes of [Section 3.2](../03-linear-regression/02-object-oriented-design.ipynb), with which most of this book trains, are divided along the same lines.

# %% [markdown]
# ## The number we want and the number we optimize
#
# For classes instead of numbers the natural objective is the *error rate*, the share of wrong answers.
# It is what we care about, and gradient descent cannot use it.
#
# Take a classifier with a single parameter, a threshold $t$: answer "yes" if the feature is above $t$.
# Move $t$ a little, and usually not a single answer changes: the error rate is a staircase, flat almost everywhere.
# On a flat floor no direction leads downhill.

# %%
rng = torch.Generator().manual_seed(3)
yes = torch.arange(40) % 2                                # labels 0 and 1
feature = 1.5 * yes - 0.75 + torch.randn(40, generator=rng)

def error_rate(t):
    return ((feature > t) != (yes == 1)).float().mean()

def surrogate(t):
    """Logistic loss of the margins in bits, smooth in t."""
    margin = (2.0 * yes - 1) * (feature - t)  # positive if right, (40,)
    return F.softplus(-margin).mean() / math.log(2)

# %%
# check 1.2-C3: a comparison has no gradient
t = torch.tensor(0.2, requires_grad=True)
print("error rate can be differentiated:", error_rate(t).requires_grad)
assert not error_rate(t).requires_grad
assert error_rate(t + 1e-3) == error_rate(t - 1e-3)  # flat around t

# %%
# check 1.2-C4: the surrogate has one, at the same point
slope, = torch.autograd.grad(surrogate(t), t)
print("slope of the surrogate:", round(slope.item(), 3))
difference = surrogate(t.detach() + 0.01) - surrogate(t.detach() - 0.01)
assert slope.abs() > 0.01 and (slope - difference / 0.02).abs() < 1e-3
m = torch.where(yes == 1, feature - t, t - feature)  # margins, (40,)
torch.testing.assert_close(surrogate(t), torch.log2(1 + (-m).exp()).mean())

# %% [markdown]
# The way out is a *surrogate*: another function, smooth, that is small only where the error rate is small.
# Ours looks at the *margin* $m_i$ of each example, the distance of its feature from the threshold, counted positive if the answer is right and negative if it is wrong:
#
# $$
# S(t) = \frac1n\sum_{i=1}^n\log_2\left(1+e^{-m_i}\right),\qquad m_i=\pm(x_i-t), \tag{1.2.4}
# $$
#
# where $x_i$ is the feature, $t$ the threshold, and the sign is $+$ for examples with the label "yes".
# An answer that is right by a wide margin costs nearly nothing, one that is wrong costs the more the further off it is.
# It is the loss that trained the detector of [Section 1.1](01-motivating-example.ipynb), in units of bits.
#
# Every wrong answer has $m_i\le0$ and costs at least $\log_2 2=1$, and no answer costs less than 0.
# So $S(t)$ is never below the error rate, and a small surrogate guarantees a small error rate.

# %%
ts = torch.linspace(-3, 3, 601)
stairs = torch.stack([error_rate(v) for v in ts])  # (601,)
bowl = torch.stack([surrogate(v) for v in ts])
assert (bowl >= stairs).all()
ax = d2l.plot(ts, [stairs, bowl],
              ["error rate", "surrogate"], xlabel="threshold $t$",
              ylabel="objective", fmts=["-", "--"])
d2l.describe(ax, "Two curves over the threshold. The error rate is a "
             "staircase, flat between its jumps, lowest near zero. The "
             "surrogate is a smooth bowl above it, with its lowest point "
             "near the same place.")

# %% [markdown]
# **Figure 1.2.3.** What we want to be small, and what can be made small.
# The staircase has slope 0 almost everywhere; the bowl lies above it and shows the way.

# %% [markdown]
# The two need not agree exactly: the threshold with the smallest surrogate can make a few more errors than the best one.
# That is the price of being able to follow a slope.

# %%
best_stairs, chosen = stairs.min().item(), stairs[bowl.argmin()].item()
print(f"lowest error rate {best_stairs:.3f}, "
      f"at the lowest surrogate {chosen:.3f}")
assert best_stairs <= chosen <= best_stairs + 0.1

# %% [markdown]
# ## Training and test
#
# The loss on the examples that were used for training, the *training set*, says how well the model has adapted to them.
# Whether it has learned anything is another matter, and needs examples that were kept aside, the *test set*.
# A student who has memorized the questions of old exams does well on these, and on these only.
# The old exams are the training set, the final is the test.
# A model that is good on the former and bad on the latter is said to *overfit*.
#
# We can see it when a model has nearly as much freedom as there are data.
# Two of the four parts change: the data are 24 noisy points of a sine curve, and the model is a polynomial of degree 19 with 20 parameters.
# (We write it with Chebyshev polynomials, `cos(k * acos(x))` for $k=0,\dots,19$, combinations of the powers of $x$ with which gradient descent makes progress.)

# %%
f64 = torch.float64


def features(at):
    """Chebyshev polynomials 0 to 19 at these points: (n,) -> (n, 20)."""
    return torch.cos(torch.arange(20) * torch.acos(at)[:, None])


def noisy_points(n, generator):
    at = 2 * torch.rand(n, generator=generator, dtype=f64) - 1
    noise = torch.randn(n, generator=generator, dtype=f64)
    return at, torch.sin(3 * at) + 0.4 * noise


rng = torch.Generator().manual_seed(9)
at, target = noisy_points(24, rng)
at_new, target_new = noisy_points(500, rng)  # the final exam
truth = (target - torch.sin(3 * at)).square().mean()  # error of the sine

# %%
P, P_new = features(at), features(at_new)  # (24, 20), (500, 20)
weights = torch.zeros(20, dtype=f64)
train, test, snapshots = [], [], []
for _ in range(3001):
    error = P @ weights - target  # (24,)
    train.append(error.square().mean().item())
    test.append((P_new @ weights - target_new).square().mean().item())
    snapshots.append(weights)
    weights = weights - 0.1 * P.mT @ error / len(target)

# %% tags=["hide-input"]
shown = torch.logspace(0, 3.477, 120).long().unique()
axis = torch.linspace(-1, 1, 201, dtype=f64)


def draw(fig, steps):
    k = int(steps)
    left, right = fig.subplots(1, 2)
    d2l.plot(axis, [torch.sin(3 * axis), features(axis) @ snapshots[k]],
             ["truth", "model"], xlabel="x", ylabel="y", ylim=(-2.6, 2.6),
             title=f"after {k} steps", ax=left)
    left.plot(at, target, "o", ms=4, color="black")
    d2l.plot(shown, [torch.tensor(train)[shown], torch.tensor(test)[shown]],
             ["training", "test"], xlabel="step", ylabel="squared error",
             xscale="log", ylim=(0, 1), ax=right)
    right.axhline(truth, color="gray", lw=1, ls=":")
    right.plot([k, k], [train[k], test[k]], "o", color="black", ms=5)


d2l.sliders(draw, """Left: 24 noisy points, the sine curve behind them and
    the curve of the model, smooth after a few steps and wild after many.
    Right: the training error falls all the time, below that of the sine
    curve itself; the test error falls at first and then rises.""",
    figsize=(6.8, 2.9), steps=[1, 3, 10, 30, 100, 300, 1000, 3000])

# %% [markdown]
# **Figure 1.2.4.** The training error falls through all 3000 steps; the test error turns back.
# The dotted line is the training error of the sine curve itself: a model below it has learned noise, and the curve on the left begins to swing from point to point.

# %%
best = min(test)
print(f"test error: best {best:.2f}, at the end {test[-1]:.2f}")
assert train[-1] < 0.8 * truth and best < test[-1] / 2
assert all(new < old for old, new in zip(train, train[1:]))

# %% [markdown]
# [Section 3.6](../03-linear-regression/06-generalization.ipynb) shows how to notice this in time and what to do about it.

# %% [markdown]
# ## A group that the data forgot
#
# What does a model do for people who were not in its data?
# Suppose that a drug helps in proportion to its dose, and that in a second group of people it works the other way.
# We do not handicap the model: it knows the group of each person and has parameters of its own for the second group,
#
# $$
# \hat y = wx+b+g\,(ux+v), \tag{1.2.5}
# $$
#
# with dose $x$, group $g\in\{0,1\}$ and the four parameters $w,b,u,v$, all numbers.
# With the right parameters it is exact for both groups, up to the noise.
# The data decide whether it finds them.

# %%
def two_groups(share, n, generator):
    """Dose, effect and group: slope 1 for group 0 and -1 for group 1."""
    group = torch.rand(n, generator=generator) < share
    dose = 2 * torch.rand(n, generator=generator) - 1
    noise = 0.1 * torch.randn(n, generator=generator)
    return dose, torch.where(group, -dose, dose) + noise, group


def columns(dose, group):
    """What multiplies w, b, u and v: shape (n, 4)."""
    one = torch.ones_like(dose)
    return torch.stack([dose, one, group * dose, group * one], dim=1)

# %% [markdown]
# The next cell trains by gradient descent on data in which the second group is missing, rare, or well represented, and measures the error on new people of each group.

# %%
rng = torch.Generator().manual_seed(6)
new_dose, new_effect, new_group = two_groups(0.5, 2000, rng)
sizes, shares, missed = [100, 1000, 10_000], [0.0, 0.05, 0.5], {}
for share in shares:
    for n in sizes:
        dose, effect, group = two_groups(share, n, rng)
        D, knobs = columns(dose, group), torch.zeros(4)
        for _ in range(3000):
            knobs = knobs - 0.5 * D.mT @ (D @ knobs - effect) / n
        assert share or not knobs[2:].any()  # u and v stay at 0
        square = (columns(new_dose, new_group) @ knobs - new_effect) ** 2
        missed[share, n] = [square[new_group == g].mean().item()
                            for g in (0, 1)]
        print(f"share {share:4.0%}, {n:5d} people: squared error "
              f"{missed[share, n][0]:.3f} and {missed[share, n][1]:.3f}")

# %%
for n in sizes:
    assert missed[0.0, n][1] > 100 * missed[0.0, n][0]  # missing
    assert missed[0.5, n][1] < 2 * missed[0.5, n][0]  # present
    if n >= 1000:
        assert missed[0.05, n][1] < 2 * missed[0.05, n][0]
one, two = (two_groups(0.5, 9, torch.Generator().manual_seed(0))
            for _ in range(2))
assert all(map(torch.equal, one, two))  # it draws from its generator only
ratios = []  # a share of 5 % of 100 people, in 40 draws
for seed in range(40):
    dose, effect, group = two_groups(
        0.05, 100, torch.Generator().manual_seed(seed))
    knobs = torch.linalg.pinv(columns(dose, group)) @ effect
    square = (columns(new_dose, new_group) @ knobs - new_effect) ** 2
    ratios.append(square[new_group].mean() / square[~new_group].mean())
ratios = torch.stack(ratios)
assert (ratios < 2).sum() > 24 and (ratios > 10).sum() > 1  # of 40

# %% [markdown]
# Without the second group the parameters $u$ and $v$ do not move: they do not occur in the objective, so their derivatives are 0.
# The model is excellent for the first group and has more than a hundred times its error for the second, and ten times or a hundred times more data of the same kind do not change that.
# A share of 5 % from the second group is enough here with a thousand people.
# With a hundred it depends on the few who are drawn: with the parameters that fit each of 40 draws best, the error on new people of the second group is less than twice that of the first group in most draws, and more than ten times in some.
#
# A test set drawn like the training data would not show it, because the second group is missing there too.
# One has to ask for each group separately; [Section 4.7](../04-linear-classification/07-environment-and-distribution-shift.ipynb) comes back to models that meet other data than they were trained on.

# %% [markdown]
# ## Summary
#
# - The learning programs of this book have data, a model with parameters, an objective, and an optimization algorithm; each can be replaced alone.
# - The objective is a function of the parameters, with the data fixed.
# - The error rate is flat almost everywhere, so a smooth surrogate is optimized in its place.
# - A falling training error can go with a rising test error, and it is the test error that counts.
# - Anyone missing from the data is missing from the objective; in our experiment more data of the same kind did not help.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.2-1
#
# Name the four parts of ten systems: a thermometer that is calibrated, a spam filter, a chess program that learns from its games, a weather forecast, a recommender of films, a speech recognizer, a spell checker, a credit score, a self-driving car, a translator.

# %% [markdown]
# #### Solution 1.2-1

# %% [markdown]
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
# Gradient descent appears in six of the ten, where the model is a network or something close to one.

# %% [markdown]
# ### Exercise 1.2-2
#
# Replace the squared by the absolute error, in one cell only, and train again.

# %% [markdown]
# #### Solution 1.2-2

# %% [markdown]
# Only `objective` changes; `model` and `step` are the functions from above and know nothing of it.
# The slope of $|e|$ does not shrink near the optimum, so the step size is made smaller.

# %%
def objective(w, b):
    return (model(x, w, b) - y).abs().mean()


w, b, falling = 0.0, 0.0, []
for _ in range(100):
    falling.append(objective(w, b).item())
    w, b = step(w, b, lr=0.05)
print(f"absolute error from {falling[0]:.3f} to {falling[-1]:.3f}, "
      f"w = {w:.2f}, b = {b:.2f}")
assert falling[-1] < falling[0] / 2

# %% [markdown]
# ### Exercise 1.2-3
#
# Make a data set with two groups in the proportion 99 to 1, with slopes $-1$ and $1$ and noise 0.1, fit one line, and report the error for each group.

# %% [markdown]
# #### Solution 1.2-3

# %% [markdown]
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

# %% [markdown]
# Two channels with 44 100 numbers a second, for 60 seconds.

# %%
sound = torch.zeros(2, 44_100 * 60, dtype=torch.int16)  # channel, time
assert sound.numel() == 5_292_000

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the four components.
# - P. L. Bartlett, M. I. Jordan, J. D. McAuliffe (2006). Convexity, classification, and risk bounds. [doi:10.1198/016214505000000907](https://doi.org/10.1198/016214505000000907): when minimizing a surrogate minimizes the error rate.
# - S. Barocas, M. Hardt, A. Narayanan (2023). Fairness and Machine Learning. MIT Press, [fairmlbook.org](https://fairmlbook.org/): data, prejudice and what averages hide.
