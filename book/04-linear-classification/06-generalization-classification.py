# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         train_size: 60000
#       smoke:
#         train_size: 3000
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
# # 4.6 Generalization in classification
#
# A classifier is right on four of five test images.
# How much of that is luck, how often may the same images be used, and what could we have expected before we looked?

# %% [markdown]
# **You will**
#
# - put an interval on a test error by three methods, and know when each of them fails;
# - plan the size of a test set for a given precision;
# - produce a high test accuracy from pure noise, predict its size by a formula, and correct for many comparisons;
# - state what uniform convergence and the VC dimension promise, and count shattered points by computer.
#
# **Cost**: less than half a minute on a CPU, no GPU needed; a download of 31 MB, once.

# %%
import itertools
import math
from statistics import NormalDist

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from scipy.optimize import linprog

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import FashionMNIST

d2l.use_style()
f64 = torch.float64
normal = NormalDist()  # cdf and quantile of the standard normal

# %% tags=["parameters"]
train_size = 10_000  # images that the linear model is trained on

# %%
def train_linear(X, y, epochs=10, lr=0.02, batch_size=64):
    """Softmax regression on rows X (n, d); returns W (d, q) and b (q,)."""
    rng = torch.Generator().manual_seed(0)
    W = torch.zeros(X.shape[1], 10, requires_grad=True)
    b = torch.zeros(10, requires_grad=True)
    for _ in range(epochs):
        for batch in torch.randperm(len(X), generator=rng).split(batch_size):
            loss = F.cross_entropy(X[batch] @ W + b, y[batch])
            gradients = torch.autograd.grad(loss, (W, b))
            with torch.no_grad():
                for parameter, gradient in zip((W, b), gradients):
                    parameter -= lr * gradient
    return W.detach(), b.detach()

# %%
data = FashionMNIST(train_size=train_size)
X, y = data.X_train.flatten(1), data.y_train  # (n, 784), (n,)
X_test, y_test = data.X_val.flatten(1), data.y_val
W, b = train_linear(X, y)
wrong_train = ((X @ W + b).argmax(dim=1) != y).double()  # (n,) of 0 and 1
wrong = ((X_test @ W + b).argmax(dim=1) != y_test).double()
test_error = wrong.mean().item()

# %% tags=["hide-input"]
rng = torch.Generator().manual_seed(14)
_, ax = plt.subplots(figsize=(6.2, 2.8))
for n, color in ((1000, "C0"), (100, "C1")):
    chosen = torch.randint(len(wrong), (5000, n), generator=rng)
    seen = 1 - wrong[chosen].mean(dim=1)  # (5000,)
    ax.hist(seen, bins=torch.arange(65.5, 95) / 100, color=color, alpha=0.6,
            label=f"{n} images")
ax.axvline(1 - test_error, color="black", ls="--", lw=1.2)
ax.set(xlabel="accuracy on a test set", ylabel="test sets of 5000")
ax.legend(loc="upper left")
d2l.describe(ax, "Histograms of the accuracy of one model on 5000 random "
             "test sets: with 100 images they spread over more than ten "
             "percentage points, with 1000 images over a few, both around "
             "the dashed accuracy on all 10 000 images.")

# %% [markdown]
# **Figure 4.6.1.** One model, many test sets: accuracies on random samples of 100 and of 1000 of the 10 000 test images; the dashed line is the accuracy on all of them.

# %% [markdown]
# ## Three questions
#
# The model of Figure 4.6.1 is softmax regression, here as a weight matrix and a few lines.
# Compare it with a *memorizer*, which stores each training image with its label, answers from its store if it sees exactly that image again, and guesses otherwise.

# %%
store = {image.numpy().tobytes(): label.item()
         for image, label in zip(data.train_images, y)}
rng = torch.Generator().manual_seed(0)


def memorizer(images):
    """Labels from the store; a guess for an image that is not in it."""
    guesses = torch.randint(10, (len(images),), generator=rng).tolist()
    return torch.tensor([store.get(image.numpy().tobytes(), guess)
                         for image, guess in zip(images, guesses)])


memo_train = (memorizer(data.train_images) != y).double().mean().item()
memo_test = (memorizer(data.val_images) != y_test).double().mean().item()
print("error           training    test")
print(f"linear model    {wrong_train.mean():8.3f}{wrong.mean():8.3f}")
print(f"memorizer       {memo_train:8.3f}{memo_test:8.3f}")

# %%
# the memorizer is perfect on its store and guesses elsewhere
assert memo_train < 0.001 and 0.88 < memo_test < 0.92
assert wrong_train.mean() > 0.05 and wrong.mean() < 0.5
if data.source == "real" and train_size >= 10_000:
    assert 0.14 < wrong.mean() < 0.24

# %% [markdown]
# By its training error the memorizer is the better model; by its test error it is worthless.
# Three questions follow, one for each part of this section.
# How many examples does it take to believe a test error?
# What happens if the same test set is used again and again?
# And is there a reason, known before any test, why the linear model should do better than the memorizer?

# %% [markdown]
# ## The test set
#
# Fix a classifier $f$.
# Fixed means that the examples of the test set $\mathcal{D}$ had no influence on it.
# Its *empirical error* on $\mathcal{D}=\{(\mathbf{x}^{(i)},y^{(i)})\}_{i=1}^n$ is the share of wrong answers,
#
# $$\epsilon_{\mathcal{D}}(f) = \frac1n\sum_{i=1}^n\mathbf{1}\bigl(f(\mathbf{x}^{(i)})\ne y^{(i)}\bigr). \tag{4.6.1}$$
#
# $\mathbf{1}(\cdot)$ is the *indicator*, 1 if the statement in brackets is true and 0 if not; $n$ is the number of test examples.
# The *population error* is the probability of a wrong answer on an example drawn from the distribution $P$ that the examples come from:
#
# $$\epsilon(f) = E_{(\mathbf{x},y)\sim P}\,\mathbf{1}\bigl(f(\mathbf{x})\ne y\bigr) = \iint\mathbf{1}\bigl(f(\mathbf{x})\ne y\bigr)\,p(\mathbf{x},y)\,d\mathbf{x}\,dy. \tag{4.6.2}$$
#
# $p(\mathbf{x},y)$ is the density of $P$; for discrete labels the integral over $y$ is a sum.
# Both errors are numbers between 0 and 1.
# The first can be computed and is random, because $\mathcal{D}$ is; the second is what we want and cannot be observed.
# Estimating it is estimating a mean from a sample.

# %% [markdown]
# ### How fast the uncertainty shrinks
#
# The indicator of an error is a coin that shows 1 with probability $\epsilon=\epsilon(f)$, a *Bernoulli* variable.
# Its variance is $\epsilon(1-\epsilon)$, which is largest at $\epsilon=\frac12$, where it is 0.25.
# The mean of $n$ independent such variables has the *standard error*
#
# $$\sqrt{\operatorname{Var}[\epsilon_{\mathcal{D}}(f)]} = \sqrt{\frac{\epsilon(1-\epsilon)}n} \le \sqrt{\frac{0.25}n}, \tag{4.6.3}$$
#
# and the central limit theorem says that for large $n$ its distribution is close to the normal one with this standard deviation.
# The theorem needs independent draws with a finite variance; a variable that is 0 or 1 always has one.
#
# More test examples do not make the model better; what shrinks is the uncertainty of the test error, like $1/\sqrt n$: twice the precision costs 4 times the examples, a hundred times the precision 10 000 times.
# In the worst case no estimate of a probability from independent draws has a better rate.
#
# A simulation needs a population whose error is known.
# We declare the 10 000 test images to be the whole world, which makes the $\epsilon$ of our linear model known, and draw test sets from it, with replacement.

# %%
rng = torch.Generator().manual_seed(1)
sizes = [50, 200, 800, 3200]  # each four times the last one
repeats = 4000  # test sets of each size
measured = []
for n in sizes:
    chosen = torch.randint(len(wrong), (repeats, n), generator=rng)
    estimates = wrong[chosen].mean(dim=1)  # (repeats,), one per test set
    measured.append(estimates.std().item())
predicted = [math.sqrt(test_error * (1 - test_error) / n) for n in sizes]
for n, m, p in zip(sizes, measured, predicted):
    print(f"n = {n:4}: measured {m:.4f}, formula {p:.4f}")

# %%
# check 4.6-C4: four times the examples, half the standard deviation
for large, small in itertools.pairwise(measured):
    assert 1.9 < large / small < 2.1
for m, p in zip(measured, predicted):
    assert abs(m / p - 1) < 0.06

# %% tags=["hide-input"]
ns = torch.logspace(1, 6, 100, dtype=f64)
ax = d2l.plot(ns, [(0.25 / ns).sqrt(), (0.09 / ns).sqrt(),
                   (0.0099 / ns).sqrt()],
              [r"$\epsilon=0.5$ (worst case)", r"$\epsilon=0.1$",
               r"$\epsilon=0.01$"],
              xlabel="test examples n", ylabel="standard error",
              xscale="log", yscale="log")
ax.plot(sizes, measured, "ko", ms=5, label="simulated, our model")
ax.plot([2500], [0.01], "s", color="C4", ms=7)
ax.annotate("n = 2500: 0.01", (2500, 0.01), xytext=(6e3, 0.017),
            arrowprops={"arrowstyle": "-", "color": "black"})
ax.legend(loc="lower left")
d2l.describe(ax, """Standard error against the number of test examples,
    both axes logarithmic: three parallel falling lines for error rates
    0.5, 0.1 and 0.01. Simulated values lie between the upper two; the
    upper line passes 0.01 at 2500 examples.""")

# %% [markdown]
# **Figure 4.6.2.** The standard error falls by a factor of 10 for every factor of 100 in examples.
# The dots are standard deviations over simulated test sets.

# %% [markdown]
# In the worst case, $\epsilon=\frac12$, one standard deviation equals 0.01 at $n=0.25/0.01^2=2\,500$, and two equal 0.01 at $n=10\,000$.
# If two models have test sets of this size each, a difference in the third decimal is mostly noise.

# %% [markdown]
# ### A bound for every $n$
#
# *Hoeffding's inequality* holds for every $n$: if $\mathcal{D}$ has $n$ independent examples and $t>0$, then
#
# $$P\bigl(\epsilon_{\mathcal{D}}(f)-\epsilon(f)\ge t\bigr) \le \exp(-2nt^2). \tag{4.6.4}$$
#
# The left side is the probability that the test makes the model look worse than it is by $t$ or more.
# By symmetry the same bound holds for looking better, and the sum of the two, $2\exp(-2nt^2)$, bounds the probability of an error of either sign.
#
# The number of errors is binomial, so the true probability can be computed.

# %% tags=["export"]
def binomial_tail(k, n, p):
    """P(B >= k) for B ~ Binomial(n, p), as a number."""
    j = torch.arange(min(max(k, 0), n + 1), n + 1, dtype=torch.float64)
    log_choose = (math.lgamma(n + 1) - torch.lgamma(j + 1)
                  - torch.lgamma(n - j + 1))
    p = torch.tensor(p, dtype=torch.float64)
    log_p = log_choose + torch.xlogy(j, p) + torch.xlogy(n - j, 1 - p)
    return log_p.exp().sum().item()

# %%
def first_count(n, epsilon, t):
    """Smallest number of errors for which the test error is t too large."""
    return math.ceil(n * (epsilon + t) - 1e-9)


cases = [(0.5, 100, 0.1), (0.5, 1000, 0.05), (0.1, 100, 0.1)]
tails = []  # (simulated, exact, bound) for each case
rng = torch.Generator().manual_seed(2)
for epsilon, n, t in cases:
    errors = torch.binomial(torch.full((200_000,), float(n)),
                            torch.tensor(epsilon).expand(200_000), rng)
    k = first_count(n, epsilon, t)
    tails.append(((errors >= k).double().mean().item(),
                  binomial_tail(k, n, epsilon), math.exp(-2 * n * t**2)))
    print(f"eps {epsilon}, n {n:4}, t {t:4}: simulated {tails[-1][0]:.5f}"
          f"   exact {tails[-1][1]:.5f}   bound {tails[-1][2]:.4f}")

# %%
# check 4.6-C2: the tail matches the binomial and stays under the bound
expected = [(0.0284, 0.1353), (0.00087, 0.00674), (0.0020, 0.1353)]
for (seen, exact, bound), (value, limit) in zip(tails, expected):
    assert seen < bound and exact < bound
    assert abs(seen - exact) < 5 * math.sqrt(exact / 200_000)
    assert abs(exact / value - 1) < 0.02 and abs(bound - limit) < 1e-4
for epsilon in (0.01, 0.1, 0.3, 0.5, 0.8):
    for n in (1, 7, 50, 400):
        for t in (0.02, 0.1, 0.3):
            tail = binomial_tail(first_count(n, epsilon, t), n, epsilon)
            assert tail <= math.exp(-2 * n * t**2)

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), sharey=True)
n = 100
for ax, epsilon in zip(axes, (0.5, 0.1)):
    ks = torch.arange(round(n * epsilon) + 1, round(n * epsilon) + 26)
    ts = ks / n - epsilon  # (25,)
    exact = [binomial_tail(k, n, epsilon) for k in ks.tolist()]
    sd = math.sqrt(epsilon * (1 - epsilon) / n)
    approx = [1 - normal.cdf((t - 0.5 / n) / sd) for t in ts.tolist()]
    ax.semilogy(ts, torch.exp(-2 * n * ts**2), "-", color="C1",
                label="Hoeffding's bound")
    ax.semilogy(ts, exact, "ko", ms=4, label="binomial, exact")
    ax.semilogy(ts, approx, "--", color="C0", label="normal approximation")
    ax.set(xlabel="t", title=rf"$\epsilon={epsilon}$, n = 100",
           ylim=(1e-8, 1.5), xlim=(0, 0.26))
axes[0].set_ylabel(r"$P(\epsilon_D-\epsilon\geq t)$")
axes[0].legend(loc="lower left")
d2l.describe(axes, """Probability that the test error exceeds the population
    error by t, on a logarithmic axis. At error rate 0.5 the normal
    approximation lies on the exact dots and the bound a factor of several
    above. At 0.1 the exact dots lie far below the bound but above the
    normal approximation.""")

# %% [markdown]
# **Figure 4.6.3.** What the test error does, what the normal approximation says (with the usual correction of half a count), and what the bound guarantees.
# At a small error rate the bound is far from the truth, and in the far tail the approximation is too optimistic.

# %% [markdown]
# ### How many test examples?
#
# Solving $\exp(-2nt^2)=\delta$ for $n$ gives the size that guarantees a precision $t$ with confidence $1-\delta$, and the normal approximation at $\epsilon=\frac12$ gives its own:
#
# $$n_{\text{Hoeffding}} = \frac{\log(s/\delta)}{2t^2}, \qquad n_{\text{normal}} = 0.25\left(\frac{z_{1-\delta/s}}t\right)^2. \tag{4.6.5}$$
#
# $s$ is 1 for a *one-sided* statement (the true error exceeds the measured one by less than $t$) and 2 for a *two-sided* one; $z_p$ is the $p$-quantile of the standard normal distribution.

# %% tags=["export"]
def required_n(t, delta, sides=2, method="hoeffding"):
    """Test examples for a precision t with confidence 1 - delta.

    `method` is "hoeffding" (guaranteed) or "normal" (approximate, for the
    worst error rate 0.5); `sides` is 1 or 2.
    """
    if not (0 < t < 1 and 0 < delta < 1 and sides in (1, 2)):
        raise ValueError(f"got t={t}, delta={delta}, sides={sides}; t and "
                         "delta lie between 0 and 1, sides is 1 or 2.")
    if method == "hoeffding":
        n = math.log(sides / delta) / (2 * t**2)
    elif method == "normal":
        n = 0.25 * (NormalDist().inv_cdf(1 - delta / sides) / t) ** 2
    else:
        raise ValueError(f"unknown method {method!r}; use 'hoeffding' or "
                         "'normal'.")
    return math.ceil(n * (1 - 1e-12))  # an integer n stays what it is

# %%
kinds = [("normal", 1), ("normal", 2), ("hoeffding", 1), ("hoeffding", 2)]
print("95 %, t =  " + "".join(f"{t:>10}" for t in (0.1, 0.03, 0.01, 0.003)))
for method, sides in kinds:
    row = [required_n(t, 0.05, sides, method) for t in (0.1, 0.03, 0.01,
                                                        0.003)]
    print(f"{method:9} {sides}" + "".join(f"{n:>10}" for n in row))

# %%
# check 4.6-C1: sample sizes, like compared with like
one_sd = 2 * (1 - normal.cdf(1))  # outside one standard deviation: 0.317
two_sd = 2 * (1 - normal.cdf(2))
assert required_n(0.01, one_sd, 2, "normal") == 2_500
assert required_n(0.01, two_sd, 2, "normal") == 10_000
assert required_n(0.01, 0.05, 2, "normal") == 9_604
assert required_n(0.01, 0.05, 1, "normal") == 6_764
assert required_n(0.01, 0.05, 1, "hoeffding") == 14_979
assert required_n(0.01, 0.05) == 18_445  # two-sided, guaranteed
for bad in ({"t": 0}, {"t": 1}, {"delta": 0}, {"delta": 1}, {"sides": 3},
            {"method": "exact"}):
    try:
        required_n(**{"t": 0.01, "delta": 0.05, **bad})
        raise AssertionError(f"{bad} was accepted")
    except ValueError as error:
        print(error)

# %% [markdown]
# A popular comparison sets 15 000 examples by Hoeffding against 10 000 by the normal approximation; but the first number is one-sided, the second two-sided.
# Compared like with like, the guarantee costs about a factor of two, 14 979 against 6 764 or 18 445 against 9 604.
# The exact probability of a miss, on one side or on both, shows where the factor goes.

# %%
def miss(n, t, sides):
    """Exact P(test error beyond 0.5 by more than t) for error rate 0.5."""
    k = math.floor(n * (0.5 + t) + 1e-9) + 1  # first count beyond t
    return sides * binomial_tail(k, n, 0.5)


misses = {}
for method, sides in kinds:
    n = required_n(0.01, 0.05, sides, method)
    misses[n] = miss(n, 0.01, sides)
    print(f"{method:9} sides {sides}, n = {n:6}: missed with probability "
          f"{misses[n]:.4f}")

# %%
# check 4.6-C3: the promise is 0.05, like compared with like
assert abs(misses[9_604] - 0.0489) < 5e-5
assert 0.05 < misses[6_764] < 0.051  # slightly too often
assert abs(misses[14_979] - 0.0142 / 2) < 5e-5  # 0.0142 on both sides
assert abs(misses[18_445] - 0.0067) < 5e-5

# %% [markdown]
# The normal sizes come out at about 0.05, one of them slightly above, since an approximation guarantees nothing.
# Hoeffding's sizes keep far more than they promise, even at the worst error rate.
# At a smaller rate the waste is larger: at $\epsilon=0.05$ the variance is 0.0475 instead of 0.25, so a fifth of the examples give the same precision.

# %% tags=["hide-input"]
def draw(fig, t, confidence):
    ax = fig.subplots()
    names = [f"{method.title()}, {'one' if sides == 1 else 'two'}-sided"
             for method, sides in kinds]
    n = [required_n(t, 1 - confidence, sides, m) for m, sides in kinds]
    ax.barh(names, n, color=["C2", "C0", "C6", "C1"], height=0.65)
    for i, value in enumerate(n):
        ax.text(value * 1.15, i, f"{value:,}".replace(",", " "),
                va="center")
    ax.set(xscale="log", xlim=(10, 3e6), xlabel="test examples",
           title=f"precision {t:g} with confidence {confidence:g}")
    ax.grid(axis="y", visible=False)
    ax.invert_yaxis()


d2l.sliders(draw, """Bars with the number of test examples that four methods
    ask for. For every precision and confidence Hoeffding needs more than
    the normal approximation, and two-sided statements more than one-sided
    ones.""", figsize=(6.0, 2.6), t=[0.003, 0.005, 0.01, 0.03, 0.1],
    confidence=[0.9, 0.95, 0.99])

# %% [markdown]
# **Figure 4.6.4.** Plan a test set: choose the precision and the confidence.
# Confidence is cheap, precision is expensive.

# %% [markdown]
# ### An interval for a measured error
#
# Conversely, when $k$ errors in $n$ examples were observed, which population errors are compatible with that?
# A *confidence interval* of level $1-\delta$ is a recipe that turns data into an interval which contains $\epsilon$ with probability at least $1-\delta$, whatever $\epsilon$ is.
# Three recipes are in use.
#
# - *Normal*: $\hat\epsilon\pm z_{1-\delta/2}\sqrt{\hat\epsilon(1-\hat\epsilon)/n}$ with $\hat\epsilon=k/n$; short, and an approximation in two respects, since the distribution is not normal and the variance is estimated.
# - *Hoeffding*: $\hat\epsilon\pm\sqrt{\log(2/\delta)/(2n)}$; always valid, the same width for all $k$.
# - *Exact* (Clopper and Pearson): all $\epsilon$ for which neither "$k$ or more errors" nor "$k$ or fewer errors" has a probability below $\delta/2$; always valid. Its ends are found by bisection.

# %% tags=["export"]
def error_interval(errors, n, level=0.95, method="exact"):
    """Two-sided confidence interval (low, high) for an error rate.

    `errors` wrong answers were seen on `n` independent test examples that
    had no influence on the model. `method` is "normal", "hoeffding" or
    "exact" (Clopper and Pearson).
    """
    if not (0 <= errors <= n and n > 0 and 0 < level < 1):
        raise ValueError(f"got {errors} errors on {n} examples at level "
                         f"{level}; 0 <= errors <= n and 0 < level < 1.")
    rate, delta = errors / n, 1 - level
    if method == "exact":
        def highest(k):  # largest p with P(k or fewer errors) > delta/2
            low, high = 0.0, 1.0
            for _ in range(40):
                p = (low + high) / 2
                keep = binomial_tail(n - k, n, 1 - p) > delta / 2
                low, high = (p, high) if keep else (low, p)
            return high

        return (1 - highest(n - errors) if errors > 0 else 0.0,
                highest(errors) if errors < n else 1.0)
    if method == "normal":
        z = NormalDist().inv_cdf(1 - delta / 2)
        half = z * math.sqrt(rate * (1 - rate) / n)
    elif method == "hoeffding":
        half = math.sqrt(math.log(2 / delta) / (2 * n))
    else:
        raise ValueError(f"unknown method {method!r}; use 'normal', "
                         "'hoeffding' or 'exact'.")
    return max(rate - half, 0.0), min(rate + half, 1.0)

# %%
methods = ("normal", "exact", "hoeffding")
count, n = int(wrong.sum()), len(wrong)
print(f"our linear model: accuracy {1 - count / n:.4f}")
for method in methods:
    low, high = error_interval(count, n, method=method)
    print(f"  {method:9} accuracy between {1 - high:.4f} and {1 - low:.4f}, "
          f"half-width {(high - low) / 2:.4f}")

# %%
# textbook value, symmetry, and the half-width at an accuracy of 0.82
low, high = error_interval(0, 10)  # tabulated: 0 to 0.3085
assert low == 0 and abs(high - 0.3085) < 5e-5
low, high = error_interval(3, 10)
other = error_interval(7, 10)
assert abs(low + other[1] - 1) < 1e-9 and abs(high + other[0] - 1) < 1e-9
assert abs(binomial_tail(3, 10, low) - 0.025) < 1e-6
low, high = error_interval(1_800, 10_000, method="normal")
assert abs((high - low) / 2 - 0.0075) < 5e-5
low, high = error_interval(1_800, 10_000)
assert abs((high - low) / 2 - 0.0075) < 1e-4
low, high = error_interval(50, 100, method="hoeffding")
assert abs((high - low) / 2 - math.sqrt(math.log(40) / 200)) < 1e-12
for k, end in ((1, 0), (9, 1)):  # cut off at 0 and 1
    assert error_interval(k, 10, method="normal")[end] == end
for bad in ((-1, 10), (11, 10), (0, 0), (1, 10, 0.0), (1, 10, 1.0),
            (1, 10, 0.95, "wald")):
    try:
        error_interval(*bad)
        raise AssertionError(f"{bad} was accepted")
    except ValueError as error:
        print(error)
if data.source == "real" and train_size >= 10_000:
    low, high = error_interval(count, n)
    assert abs((high - low) / 2 - 0.008) < 5e-4

# %% [markdown]
# At an accuracy near 0.8 the half-width of a 95 % interval on 10 000 images is about 0.008: the second decimal is uncertain by about one, and the third and fourth are noise of the test set.
# (Two models on the *same* images can be told apart more finely, see Exercise 4.6-4.)
#
# Do the recipes keep their promise?
# For a given $\epsilon$ the *coverage* is the probability that the interval contains $\epsilon$, a sum over the possible numbers of errors, which we can compute.

# %%
n = 100
rates = torch.linspace(0.002, 0.5, 250, dtype=f64)  # (250,)
ks = torch.arange(n + 1, dtype=f64)
pmf = torch.distributions.Binomial(n, rates[:, None]).log_prob(ks).exp()
ends = {m: torch.tensor([error_interval(k, n, method=m)
                         for k in range(n + 1)], dtype=f64)  # (101, 2)
        for m in methods}
coverage = {}
for method, (low, high) in ((m, ends[m].unbind(dim=1)) for m in methods):
    inside = (low <= rates[:, None]) & (rates[:, None] <= high)
    coverage[method] = (pmf * inside).sum(dim=1)  # (250, 101) -> (250,)

# %%
# exact and Hoeffding keep their promise everywhere, normal does not
assert coverage["exact"].min() >= 0.95 - 1e-9
assert coverage["hoeffding"].min() >= 0.95
assert coverage["normal"].min() < 0.5
assert (coverage["normal"] < 0.95).double().mean() > 0.5

# %% tags=["hide-input"]
rng = torch.Generator().manual_seed(3)
_, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.4),
                                width_ratios=[1.15, 1])
for method, style in zip(methods, ("C1-", "C0-", "C3--")):
    left.plot(rates, coverage[method], style, lw=1.2, label=method)
left.axhline(0.95, color="black", lw=0.9, ls=":")
left.set(xlabel=r"population error $\epsilon$", ylim=(0.5, 1.01),
         ylabel="coverage", title="95 % intervals, n = 100")
left.legend(loc="lower right")
seen = torch.binomial(torch.full((60,), 100.0),
                      torch.full((60,), 0.033), rng).int().tolist()
missed = 0
for i, k in enumerate(seen):
    low, high = ends["normal"][k].tolist()
    bad = not low <= 0.033 <= high
    missed += bad
    color = "C1" if bad else "0.6"
    right.plot([i, i], [low, high], color=color, lw=2,
               solid_capstyle="butt")
    right.plot(i, k / 100, "o", color=color, ms=3)
right.axhline(0.033, color="black", lw=1)
right.set(xlabel="test set", ylabel="normal interval",
          title=r"60 test sets, $\epsilon=0.033$")
d2l.describe((left, right), """Left: coverage of 95 per cent intervals
    against the population error for 100 examples. Hoeffding is near 1,
    exact jumps between 0.95 and 1, normal mostly below 0.95 and far below
    it for errors under 0.05. Right: normal intervals of 60 test sets;
    those with no error or one error end below the population error.""")
assert missed >= 6  # twice the 3 that 95 % of 60 leave
few = [k for k in seen if k <= 1]  # too short to reach the truth
assert all(ends["normal"][k, 1] < 0.033 for k in few)
assert len(few) > 0.5 * missed
print(f"{missed} of {len(seen)} normal intervals miss")

# %% [markdown]
# **Figure 4.6.5.** Promised and kept: the normal interval fails where errors are rare (left); on the right, most misses (orange) come from test sets with no error or one error, whose intervals are too short to reach the truth.
# The curves jump because the number of errors is an integer.

# %% [markdown]
# Good models make few errors, so the most common recipe fails for good models on small test sets; with no error at all its interval has width zero.
# The book uses `exact` by default; with hundreds of errors `normal` gives nearly the same.

# %% [markdown]
# ## Using the test set again
#
# Two different things go wrong when tests are repeated.

# %% [markdown]
# ### False discovery
#
# Let each evaluation mislead with probability 0.05, and make 20 independent ones.
# At least one of them misleads with probability $1-0.95^{20}\approx0.64$.
# If 20 equal variants are tried and those that stand out are reported, the report is noise: a *false discovery*.
#
# The classical remedy, *Bonferroni's correction* for $k$ comparisons, gives each the level $1-0.05/k$ instead of $0.95$; then all $k$ intervals hold together with probability at least 0.95, since the probability that one of them fails is at most the sum of the single ones.

# %%
rng = torch.Generator().manual_seed(4)
n, epsilon, most = 10_000, 0.2, 50
errors = torch.binomial(torch.full((10_000, most), float(n)),
                        torch.full((10_000, most), epsilon), rng)
rate = errors / n  # (10 000 repetitions, 50 evaluations)
z = (rate - epsilon).abs() / (rate * (1 - rate) / n).sqrt()
ks = [1, 2, 5, 10, 20, 30, 40, 50]


def any_misleads(k, delta):
    """Share of repetitions in which one of k intervals misses."""
    limit = normal.inv_cdf(1 - delta / 2)
    return (z[:, :k] > limit).any(dim=1).double().mean().item()


plain = [any_misleads(k, 0.05) for k in ks]
corrected = [any_misleads(k, 0.05 / k) for k in ks]
print(f"20 evaluations: {plain[4]:.3f} without, {corrected[4]:.3f} with")

# %%
# check 4.6-C5: 0.6415 without and 0.0488 with Bonferroni's correction
assert abs(plain[4] - 0.6415) < 0.02
assert abs(corrected[4] - 0.0488) < 0.01
assert max(corrected) < 0.06 and plain[0] < 0.06  # 50 tests, one test

# %% tags=["hide-input"]
grid = torch.arange(1, most + 1)
ax = d2l.plot(grid, [1 - 0.95**grid, 1 - (1 - 0.05 / grid) ** grid],
              ["each at 95 %", "Bonferroni"],
              xlabel="independent evaluations k",
              ylabel="P(at least one misleads)", ylim=(0, 1))
ax.plot(ks, plain, "o", color="C0")
ax.plot(ks, corrected, "s", color="C1")
d2l.describe(ax, """Probability of at least one misleading result against
    the number of evaluations: it rises from 0.05 to 0.64 at 20 and above
    0.9 at 50; with Bonferroni's correction it stays just below 0.05.
    Simulated dots lie on both curves.""")

# %% [markdown]
# **Figure 4.6.6.** With many tests a misleading one becomes nearly certain; the correction keeps its probability just below 0.05.
# Lines are formulas, dots simulated.

# %% [markdown]
# ### The best of many
#
# On a leaderboard the comparisons share one test set, and only the best score is read.
# Let all participants guess: the labels are coin flips, and so are their answers.
# The mean score of the best of $k$ is at most $\frac12+\sqrt{\log k/(2n)}$.
# For a score $S$, *Hoeffding's lemma* says $E\,e^{s(S-1/2)}\le e^{s^2/(8n)}$ for all $s$; by Jensen's inequality $e^{sE[\max(S_i-1/2)]}\le\sum_iE\,e^{s(S_i-1/2)}\le k\,e^{s^2/(8n)}$, and $s=\sqrt{8n\log k}$ gives the bound.

# %%
def best_of_k(n, k, repeats, rng):
    """Best accuracy of k guessers on n coin labels, (repeats,).

    A guess is right with probability 1/2 whatever the label is, so the
    number of right answers is drawn directly.
    """
    right = torch.binomial(torch.full((repeats, k), float(n)),
                           torch.full((repeats, k), 0.5), generator=rng)
    return right.max(dim=1).values / n


rng = torch.Generator().manual_seed(5)
best = {(n, k): best_of_k(n, k, 400, rng).mean().item()
        for n, k in ((1000, 20), (1000, 500), (10_000, 500))}
for (n, k), score in best.items():
    print(f"best of {k:3} guessers on {n:5} labels: {score:.3f}")

# %%
# check 4.6-C6: mean best score, always below the bound
for ((n, k), score), value in zip(best.items(), (0.530, 0.548, 0.515)):
    assert abs(score - value) < 0.0015
for n in (100, 1000, 10_000):
    for k in (2, 10, 100):
        mean = best_of_k(n, k, 400, rng).mean().item()
        assert 0.5 < mean < 0.5 + math.sqrt(math.log(k) / (2 * n))

# %% [markdown]
# The bound grows only with $\sqrt{\log k}$: a test set survives many questions that were *chosen in advance*.

# %% [markdown]
# ### Adaptive overfitting
#
# The second problem is worse.
# If $f_2$ is designed after the score of $f_1$ was seen, it is no longer independent of $\mathcal{D}$, and (4.6.4) does not apply to it.
# The test set turns into training data, one score at a time, an effect called *adaptive overfitting*.
#
# The following attack learns nothing, because labels are coin flips.
# Submit $k$ random classifiers.
# Keep those that score above one half, invert the others, and let all of them vote.

# %%
def majority_attack(n, k, rng):
    """Accuracies of the vote on the n test labels and on n fresh ones."""
    def coins(*shape):
        return 2.0 * torch.randint(2, shape, generator=rng) - 1  # -1 or 1

    y, y_fresh = coins(n), coins(n)
    answers, answers_fresh = coins(k, n), coins(k, n)
    score = answers @ y  # (k,): right minus wrong answers, all we may see
    sign = torch.where(score >= 0, 1.0, -1.0)  # keep or invert
    vote = torch.where(sign @ answers >= 0, 1.0, -1.0)  # (n,)
    vote_fresh = torch.where(sign @ answers_fresh >= 0, 1.0, -1.0)
    return ((vote == y).double().mean().item(),
            (vote_fresh == y_fresh).double().mean().item())

# %% [markdown]
# How well will it do on the labels that were asked?
# Each score is a sum of $n$ signs, so its absolute value is about $\sqrt{2n/\pi}$, the mean of $|Z|$ for a normal $Z$ with variance $n$.
# After inverting, each classifier agrees with the labels by a mean of $\sqrt{2/(\pi n)}$ for each example.
# The vote adds up $k$ of them: mean $k\sqrt{2/(\pi n)}$ in the direction of the true label, standard deviation about $\sqrt k$.
# It is right if this sum is positive:
#
# $$P(\text{vote}=y) \approx \Phi\left(\sqrt{\frac{2k}{\pi n}}\right), \tag{4.6.6}$$
#
# where $\Phi$ is the distribution function of the standard normal, $k$ the number of submissions and $n$ that of test labels.
# Choosing the best gains an amount of the order $\sqrt{\log k/n}$; combining the scores gains one of the order $\sqrt{k/n}$.

# %%
def prediction(n, k):
    return normal.cdf(math.sqrt(2 * k / (math.pi * n)))


rng = torch.Generator().manual_seed(6)
attack = {}
for n, k, runs in ((1000, 100, 60), (1000, 500, 40), (10_000, 500, 4)):
    scores = torch.tensor([majority_attack(n, k, rng) for _ in range(runs)])
    attack[n, k] = scores.mean(dim=0).tolist()
    print(f"n {n:5}, k {k}: apparent {attack[n, k][0]:.3f}, predicted "
          f"{prediction(n, k):.4f}, fresh {attack[n, k][1]:.3f}")

# %%
# check 4.6-C7: noise scores as predicted, and fresh labels unmask it
for (n, k), value, formula in zip(attack, (0.60, 0.72, 0.571),
                                  (0.5996, 0.7137, 0.5708)):
    apparent, fresh = attack[n, k]
    assert abs(prediction(n, k) - formula) < 5e-5
    assert abs(apparent - value) < 0.015 and abs(fresh - 0.5) < 0.012
    assert abs(apparent - formula) < 0.010

# %% tags=["hide-input"]
rng = torch.Generator().manual_seed(7)
submissions = [1, 11, 51, 101, 201, 401, 701, 1001]
_, ax = plt.subplots(figsize=(6.4, 3.5))
ks = torch.arange(1, 1002, 10)
ax.plot(ks, [prediction(1000, k) for k in ks.tolist()], "C1-",
        label="vote, prediction (4.6.6)")
runs = torch.tensor([[majority_attack(1000, k, rng) for _ in range(10)]
                     for k in submissions]).mean(dim=1)  # (8, 2)
ax.plot(submissions, runs[:, 0], "o", color="C1", label="vote, test set")
ax.plot(submissions, [best_of_k(1000, k, 200, rng).mean()
                      for k in submissions], "^--", color="C0",
        label="best of k, test set")
ax.plot(submissions, runs[:, 1], "s:", color="black",
        label="vote, fresh labels")
ax.set(xlabel="submissions k", ylabel="accuracy", ylim=(0.45, 0.85),
       title="coin labels, n = 1000")
ax.legend(loc="upper left")
d2l.describe(ax, """Accuracy against submissions. On the test set the vote
    rises from 0.5 to nearly 0.8 at 1000 submissions, on the predicted
    curve; the best of k stays near 0.55; on fresh labels the vote stays
    at 0.5.""")

# %% [markdown]
# **Figure 4.6.7.** Apparent and true accuracy of an attack on a test set of noise.
# The score of the vote measures how much the leaderboard gave away.

# %% [markdown]
# The extreme case needs no statistics: $n+1$ scores reveal all $n$ labels (Exercise 4.6-2).

# %% [markdown]
# ### What helps
#
# A test set is used up; five habits make it last.
#
# - Decide on validation data ([Section 4.2](02-image-classification-dataset.ipynb) has `holdout` for it), and test once.
# - Write down a budget of accesses beforehand, for example three, each with its purpose.
# - When the budget is spent, take a fresh test set; the old one becomes a validation set.
# - Correct intervals for the number of comparisons, and report that number.
# - Use a large test set, and be most careful when stakes are high and data few.
#
# The attack is a worst case.
# Dwork and coauthors (2015) show that a mechanism which answers with a little noise survives far more adaptive questions, and practice is often milder: on newly collected test images for ImageNet the models lost accuracy, but their order hardly changed (Recht et al. 2019).

# %% [markdown]
# ## Statistical learning theory
#
# A test certifies a model after the fact, *a posteriori*.
# Why should we expect, *a priori*, that a small training error means anything?
#
# For one fixed $f$ the training set $\mathcal{S}$ would be as good as a test set.
# But the model $f_{\mathcal{S}}$ was chosen *because* its error on $\mathcal{S}$ is small, and the best of many looks better than it is.
#
# So we ask that the error of no candidate be badly estimated.
# Let $\mathcal{F}$ be the class of all models that training can return.
# *Uniform convergence* means that with probability at least $1-\delta$
#
# $$|\epsilon(f)-\epsilon_{\mathcal{S}}(f)| < \alpha \quad\text{for all } f\in\mathcal{F}\text{ at once}. \tag{4.6.7}$$
#
# Here $\epsilon_{\mathcal{S}}$ is the error (4.6.1) on the $n$ training examples, and $\alpha$ the precision.
# If it holds, it holds for $f_{\mathcal{S}}$ too, however it was chosen.
# For a finite class it follows from what we have: the two-sided Hoeffding bound for each member, and the *union bound*, which adds up the $|\mathcal{F}|$ probabilities of failure.
# Setting $2|\mathcal{F}|\exp(-2n\alpha^2)=\delta$ gives
#
# $$\alpha = \sqrt{\frac{\log|\mathcal{F}|+\log(2/\delta)}{2n}}. \tag{4.6.8}$$
#
# $|\mathcal{F}|$ is the number of members.
#
# For memorizers (4.6.7) is false at any $n$: among all stores there is one that holds the training examples and a wrong answer to everything else, so $\epsilon_{\mathcal{S}}=0$ and $\epsilon$ is close to 1.
# A rigid class satisfies it with few examples, but may contain no good model.
# Training needs a class that is rigid enough for its training errors to be trustworthy and flexible enough to make them small: the trade-off of bias and variance in [Section 3.6](../03-linear-regression/06-generalization.ipynb).

# %% [markdown]
# ### Counting is not enough
#
# (4.6.8) is useless for infinite classes, and the linear classifiers already are one.
# Does an infinite class overfit?
# Compare two classes with $K$ members each, on $n=200$ examples with coin labels, where every model has $\epsilon=\frac12$.
# The first has $K$ unrelated random classifiers.
# The second has thresholds on a number $x\in[0,1]$: answer 1 if $x>c$, for $K$ values $c$.

# %%
def threshold_gaps(x, labels, c):
    """Largest |error - 1/2| of thresholds c (K,), for samples of sorted x
    and labels, both (repeats, n): (repeats,)."""
    n = x.shape[1]
    m = torch.searchsorted(x, c.expand(len(x), len(c)).contiguous())
    ones = F.pad(labels.cumsum(dim=1), (1, 0))  # ones among the first m
    left = ones.gather(1, m)  # (repeats, K): 1s that are answered 0
    wrong = left + (n - m) - (ones[:, -1:] - left)
    return (wrong / n - 0.5).abs().amax(dim=1)


def worst_gap(K, n, repeats, rng):
    """Mean over samples of max |error - 1/2|: random rules, thresholds."""
    labels = torch.randint(2, (repeats, n), generator=rng)
    right = torch.binomial(torch.full((repeats, K), float(n)),
                           torch.full((repeats, K), 0.5), generator=rng)
    random_rules = (right / n - 0.5).abs().amax(dim=1)
    x = torch.rand(repeats, n, generator=rng).sort(dim=1).values
    c = torch.arange(1, K + 1) / (K + 1)  # (K,)
    thresholds = threshold_gaps(x, labels, c)
    return random_rules.mean().item(), thresholds.mean().item()


rng = torch.Generator().manual_seed(9)
Ks, n = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000], 200
gaps = torch.tensor([worst_gap(K, n, 200, rng) for K in Ks])  # (9, 2)

# %% tags=["hide-input"]
alpha = [math.sqrt((math.log(K) + math.log(2 / 0.05)) / (2 * n)) for K in Ks]
ax = d2l.plot(Ks, [alpha, gaps[:, 0], gaps[:, 1]],
              ["bound (4.6.8), 95 %", "K random classifiers",
               "K thresholds"], fmts=("-", "o--", "s-."), xscale="log",
              xlabel="members of the class K", ylim=(0, 0.21),
              ylabel=r"largest $|\epsilon-\epsilon_S|$")
d2l.describe(ax, """Largest gap between population and training error
    against the size of the class. It keeps growing for random classifiers,
    somewhat below the bound; for thresholds it stops growing at about a
    hundred members.""")

# %% [markdown]
# **Figure 4.6.8.** The largest gap in a class, mean over 200 training sets of 200 examples.
# Unrelated classifiers behave as the union bound fears; thresholds do not: on 200 points they give at most 201 different sets of answers, so the curve must flatten, and since neighbouring sets differ in one answer it flattens lower than 201 unrelated classifiers would.

# %%
assert (gaps < torch.tensor(alpha)[:, None]).all()
assert gaps[-1, 0] > gaps[4, 0] + 0.02  # random classifiers: still growing
assert gaps[-1, 1] - gaps[4, 1] < 0.01  # thresholds: flat
assert gaps[-1, 1] < gaps[-1, 0] - 0.05
assert gaps[-1, 1] < gaps[4, 0] - 0.01  # even 100 unrelated ones are worse
x = torch.rand(50, 30, generator=rng).sort(dim=1).values
labels = torch.randint(2, (50, 30), generator=rng)
c = torch.arange(1, 8) / 8  # seven thresholds, one answer at a time
answers = (x[:, None] > c[:, None]).long()  # (50, 7, 30)
direct = (answers != labels[:, None]).float().mean(dim=2)  # (50, 7)
torch.testing.assert_close(threshold_gaps(x, labels, c),
                           (direct - 0.5).abs().amax(dim=1))

# %% [markdown]
# ### What counts: labelings
#
# On 200 points, infinitely many thresholds produce only 201 different answers.
# What matters in the bound is not how many members a class has but how many *labelings* of $n$ points it can produce.
# A set of points is *shattered* by a class if all $2^N$ labelings of the $N$ points occur.
# The *VC dimension*, after Vapnik and Chervonenkis, is the largest number of points that some placement allows to be shattered.
#
# For lines in the plane this can be counted by computer.
# A labeling with signs $s_i=\pm1$ is possible if there are $\mathbf{w}$ and $b$ with $s_i(\mathbf{w}^\top\mathbf{x}_i+b)\ge1$ for all $i$: a set of linear inequalities, and linear programming decides whether it has a solution.

# %%
def separating_plane(X, s):
    """(w, b) with s * (X w + b) >= 1, or None; X (N, d), s (N,) of -1, 1."""
    A = -s[:, None] * F.pad(X, (0, 1), value=1.0)  # (N, d + 1)
    found = linprog([0.0] * A.shape[1], A_ub=A.tolist(),
                    b_ub=[-1.0] * len(X), bounds=(None, None))
    return (found.x[:-1], found.x[-1]) if found.status == 0 else None


def separable(X, s):
    return separating_plane(X, s) is not None


def count_dichotomies(X):
    """How many labelings of the points X (N, d) a plane can produce."""
    rest = itertools.product((-1.0, 1.0), repeat=len(X) - 1)
    return 2 * sum(separable(X, torch.tensor((1.0, *s), dtype=X.dtype))
                   for s in rest)  # with s also -s is possible

# %% [markdown]
# Cover (1965) found the number for points in *general position*, of which no three lie on a line (in $d$ dimensions: no $d+1$ in a hyperplane):
#
# $$C(N,d) = 2\sum_{k=0}^d\binom{N-1}k. \tag{4.6.9}$$
#
# $N$ is the number of points and $d$ the dimension; the number does not depend on where the points lie.
# For $N\le d+1$ the sum is $2^{N-1}$, and all labelings occur; beyond, it grows like $N^d$ and falls behind $2^N$.

# %%
def cover_count(N, d):
    return 2 * sum(math.comb(N - 1, k) for k in range(d + 1))


rng = torch.Generator().manual_seed(10)
points = torch.randn(6, 2, generator=rng, dtype=f64)
counts = [count_dichotomies(points[:N]) for N in range(1, 7)]
on_a_line = torch.tensor([[0.0, 0], [1, 1], [2, 2]], dtype=f64)
print("points         ", list(range(1, 7)))
print("separable      ", counts)
print("Cover          ", [cover_count(N, 2) for N in range(1, 7)])
print("all labelings  ", [2**N for N in range(1, 7)])
print("three on a line:", count_dichotomies(on_a_line))

# %%
# check 4.6-C9: Cover's numbers, and a bad placement of three points
assert counts == [2, 4, 8, 14, 22, 32]
assert counts == [cover_count(N, 2) for N in range(1, 7)]
assert count_dichotomies(on_a_line) == 6
space = torch.randn(5, 3, generator=rng, dtype=f64)  # planes in 3-D
assert count_dichotomies(space[:4]) == 16
assert count_dichotomies(space) == cover_count(5, 3) == 30

# %% tags=["hide-input"]
square = torch.tensor([[-1.0, 1], [1, 1], [-1, -1], [1, -1]], dtype=f64)
_, axes = plt.subplots(2, 8, figsize=(8.4, 2.5))
for ax, signs in zip(axes.flat, itertools.product((-1.0, 1.0), repeat=4)):
    s = torch.tensor(signs, dtype=f64)
    plane = separating_plane(square, s)
    for sign, marker, color in ((1, "s", "C0"), (-1, "o", "C6")):
        ax.plot(*square[s == sign].T, marker, color=color, ms=8, mec="k")
    ax.set(xlim=(-2, 2), ylim=(-2, 2), xticks=[], yticks=[], aspect="equal")
    if plane is None:
        ax.set_facecolor("#f3c7b8")
        ax.set_title("impossible", fontsize=9)
    elif abs(plane[0]).max() > 1e-9:
        (w1, w2), bias = plane
        foot = -bias / (w1**2 + w2**2)  # nearest point of the line to 0
        ax.axline((foot * w1, foot * w2), (foot * w1 - w2, foot * w2 + w1),
                  color="black", lw=1.2)
    ax.spines[:].set_visible(True)
d2l.describe(axes, """Sixteen small squares with the labelings of four
    corners. In fourteen a line separates the two kinds; the two labelings
    that give opposite corners the same label are marked as impossible.""")

# %% [markdown]
# **Figure 4.6.9.** Lines produce 14 of the 16 labelings of four points (the two with equal labels need no line).
# The two that remain give opposite corners the same label.

# %% [markdown]
# Three points can be shattered, unless they lie on a line; of four points no placement can.
# So lines in the plane have VC dimension 3, and hyperplanes in $\mathbb{R}^d$ have $d+1$.
#
# Two more classes: axis-aligned rectangles, which answer 1 inside, and signs of polynomials of degree 5 in one variable.
# A labeling fits a rectangle if the bounding box of its positive points holds no negative one.

# %%
def count_rectangles(X):
    """How many labelings of points X (N, 2) rectangles can produce."""
    N = len(X)
    S = torch.tensor(list(itertools.product((False, True), repeat=N)))
    inf = torch.tensor(math.inf, dtype=X.dtype)
    low = torch.where(S[..., None], X, inf).amin(dim=1)[:, None]
    high = torch.where(S[..., None], X, -inf).amax(dim=1)[:, None]
    inside = ((low <= X) & (X <= high)).all(dim=2)  # (2^N, N)
    return int((inside == S).all(dim=1).sum())


def count_polynomials(x, degree):
    """How many labelings of numbers x (N,) signs of polynomials produce."""
    powers = torch.stack([x**j for j in range(1, degree + 1)], dim=1)
    return count_dichotomies(powers)  # a plane in the space of powers

# %%
# check 4.6-C10: rectangles shatter 4 points, polynomials of degree 5 six
diamond = torch.tensor([[0.0, 1], [1, 0], [0, -1], [-1, 0]], dtype=f64)
assert count_rectangles(diamond) == 16
rng = torch.Generator().manual_seed(11)
most = max(count_rectangles(torch.randn(5, 2, generator=rng, dtype=f64))
           for _ in range(300))
print("five points, most labelings by rectangles:", most, "of 32")
assert most < 32
assert count_polynomials(torch.linspace(-1, 1, 6, dtype=f64), 5) == 64
assert count_polynomials(torch.linspace(-1, 1, 7, dtype=f64), 5) == 126

# %% [markdown]
# In these examples the dimension equals the number of coefficients: 3 for a line, 4 for a rectangle, 6 for the polynomial.
# That is not a law: $f(x)=\operatorname{sign}\sin(wx)$ has a single parameter and shatters any number of points (Exercise 4.6-7).

# %% [markdown]
# ### The bound, and what it is worth
#
# With the VC dimension in the place of $\log|\mathcal{F}|$ there is a bound for binary classifiers:
#
# $$P\bigl(R-R_{\mathrm{emp}}<\alpha\bigr)\ge1-\delta \quad\text{for}\quad \alpha\ge c\sqrt{\frac{\mathrm{VC}-\log\delta}n}. \tag{4.6.10}$$
#
# $R$ is the population error of the trained model, $R_{\mathrm{emp}}$ its training error, $n$ the number of training examples, $\delta$ the allowed probability of failure and $c$ a constant that depends only on the scale of the loss.
# (Vapnik and Chervonenkis (1971) had a further factor of order $\log(n/\mathrm{VC})$, which later work removed; see Shalev-Shwartz and Ben-David.)
# The bound answers the third question: with enough examples, the error of a model from a class of low dimension will, with high probability, be close to its training error; that of a memorizer need not be.
#
# It is a worst case over all distributions, and pessimistic.
# Our linear model has ten classes, so the theory for two does not apply as it stands; let its number of parameters stand in for the dimension, with $c=1$.

# %%
parameters = W.numel() + b.numel()
bound = math.sqrt((parameters - math.log(0.05)) / train_size)
gap = (wrong.mean() - wrong_train.mean()).item()
print(f"parameters {parameters}, training examples {train_size}")
print(f"gap by the formula {bound:.2f}, measured {gap:.3f}")
assert -0.02 < gap < bound / 3
if data.source == "real" and train_size >= 10_000:
    assert 0 < gap < 0.05  # a few hundredths

# %% [markdown]
# A gap of the size of the formula would say nothing, since guessing has an error of 0.9; the measured gap is a few hundredths.
# For deep networks the distance is far greater: many can fit random labels without error, so a bound for the whole class is empty, and yet they generalize.
# [Section 5.5](../05-multilayer-perceptrons/05-generalization-deep-learning.ipynb) takes up this riddle.
#
# In practice, a small training error of a flexible model on few examples proves little.
# Where errors are dangerous, as in driving, rare errors must be counted, which takes large test sets, collected several times.
# All of it presumes that examples are drawn independently from the distribution in which the model will work, which [Section 4.7](07-environment-and-distribution-shift.ipynb) puts in doubt.

# %% [markdown]
# ## Summary
#
# - A test error is a mean of coin flips: its standard error is $\sqrt{\epsilon(1-\epsilon)/n}$, at most 0.01 for 2 500 examples, and halving it takes four times as many.
# - A guarantee by Hoeffding costs about twice the examples of the normal approximation if one-sided is compared with one-sided; the normal interval fails where errors are few, the exact one does not.
# - Twenty independent tests mislead at least once with probability 0.64; Bonferroni's correction brings it back below 0.05.
# - The best of $k$ models fixed in advance looks better than it is by the order of $\sqrt{\log k/n}$; adaptive use of the scores gains the order of $\sqrt{k/n}$, and $n+1$ scores reveal all binary labels.
# - Uniform convergence makes the training error of any chosen model trustworthy; it is guaranteed by the number of labelings of $n$ points, whatever the number of models or parameters.
# - The VC dimension of hyperplanes in $\mathbb{R}^d$ is $d+1$; bounds built on it hold for all distributions and say little about deep networks.

# %% [markdown]
# ## Exercises
#
# ### Exercise 4.6-1
#
# How many test examples guarantee that a test error is within 0.0001 of the population error with a confidence of 99.9 %?
# Give the one-sided and the two-sided guarantee and the two-sided normal approximation.
# Would the number be as large for a model with $\epsilon=0.001$?

# %% [markdown]
# #### Solution 4.6-1

# %% [markdown]
# Put $t=10^{-4}$ and $\delta=10^{-3}$ into (4.6.5): hundreds of millions of examples.
# All three numbers are for the worst case, $\epsilon=\frac12$.
# For $\epsilon=0.001$ the variance is 250 times smaller, so by the normal approximation about a million examples suffice.
# The confidence is the cheap part: at 95 % instead of 99.9 % the three numbers would still be between a third and a half as large.

# %%
sizes = [required_n(1e-4, 1e-3, 2), required_n(1e-4, 1e-3, 1),
         required_n(1e-4, 1e-3, 2, "normal")]
print(*(f"{n:,}" for n in sizes), sep="   ")
assert sizes == [380_045_123, 345_387_764, 270_689_155]
z = normal.inv_cdf(1 - 1e-3 / 2)
for old, case in zip(sizes, ((2,), (1,), (2, "normal"))):
    assert 1 / 3 < required_n(1e-4, 0.05, *case) / old < 1 / 2
few = math.ceil(0.001 * 0.999 * (z / 1e-4) ** 2)
print(f"at an error of 0.001: {few:,}")
assert 1.0e6 < few < 1.2e6 and abs(sizes[2] / few / 250 - 1) < 0.01

# %% [markdown]
# ### Exercise 4.6-2
#
# A leaderboard returns the number of right answers on $n$ binary labels.
# Show that $n+1$ queries reveal all of them.
# Then find a scheme that needs fewer.
# How many are needed at least?

# %% [markdown]
# #### Solution 4.6-2

# %% [markdown]
# Submit some answers, then the same answers with one inverted: if the score rises, that answer was wrong.
# The last query can be saved, since the first score already tells how many ones there are.

# %%
def leak_labels(score, n):
    """All n binary labels from n + 1 scores (numbers of right answers)."""
    answers = torch.zeros(n, dtype=torch.int64)
    base, labels = score(answers), []
    for i in range(n):
        flipped = answers.clone()
        flipped[i] = 1
        labels.append(int(score(flipped) > base))
    return torch.tensor(labels)


rng = torch.Generator().manual_seed(8)
secret = torch.randint(2, (64,), generator=rng)
asked = []  # every score that was given out


def score(answers):
    asked.append((answers == secret).sum().item())
    return asked[-1]

# %%
# check 4.6-C8: 65 scores reveal 64 labels
assert torch.equal(leak_labels(score, 64), secret)
assert len(asked) == 65

# %% [markdown]
# Flipping a *set* of answers returns the number of ones in the set, which is worth more than one bit.
# Four labels can be found from three such numbers, if the sets are chosen well: the 16 possible labelings must give 16 different triples.
# A search over all triples of subsets finds one, and $\frac34n+1$ queries are enough.
# Larger blocks do better still; Lindström's construction needs about $2n/\log_2n$.
# Each answer is one of at most $n+1$ numbers, so $n$ bits need at least $n/\log_2(n+1)$ queries.

# %%
labelings = torch.tensor(list(itertools.product((0, 1), repeat=4)))
for triple in itertools.combinations(labelings.tolist(), 3):
    sums = labelings @ torch.tensor(triple).T  # (16, 4) @ (4, 3)
    if len(sums.unique(dim=0)) == 16:
        break
decode = {tuple(row): label.tolist()
          for row, label in zip(sums.tolist(), labelings)}
print("flip these:", triple)


def leak_faster(score, n):
    base, labels = score(torch.zeros(n, dtype=torch.int64)), []
    for start in range(0, n, 4):
        found = []
        for subset in triple:
            answers = torch.zeros(n, dtype=torch.int64)
            answers[start:start + 4] = torch.tensor(subset)
            gain = score(answers) - base  # ones minus zeros in the subset
            found.append((gain + sum(subset)) // 2)
        labels += decode[tuple(found)]
    return torch.tensor(labels)


asked.clear()
assert torch.equal(leak_faster(score, 64), secret)
print(f"{len(asked)} queries; at least {math.ceil(64 / math.log2(65))}")
assert len(asked) == 3 * 64 // 4 + 1

# %% [markdown]
# ### Exercise 4.6-3
#
# What is the VC dimension of the signs of polynomials of degree 5 in one variable, and of axis-aligned rectangles in the plane?
# Prove both.

# %% [markdown]
# #### Solution 4.6-3

# %% [markdown]
# *Polynomials: 6.*
# Through 6 points with distinct $x$ there is a polynomial of degree 5 with any prescribed values, in particular $\pm1$.
# With 7 points the alternating labeling would need 6 changes of sign, hence 6 zeros, one more than degree 5 permits.
# This excludes two labelings (alternating from either sign), and they are the only ones: $128-2=126$, as counted.
#
# *Rectangles: 4.*
# The diamond is shattered.
# Of 5 points, choose one that is leftmost, one rightmost, one highest and one lowest; these are at most 4 points, so one is left over.
# Every rectangle that contains the chosen ones contains the one left over, so the labeling that makes it the only negative is impossible.

# %%
for degree in range(1, 6):
    enough = torch.linspace(-1, 1, degree + 1, dtype=f64)
    above = torch.linspace(-1, 1, degree + 2, dtype=f64)
    assert count_polynomials(enough, degree) == 2 ** (degree + 1)
    assert count_polynomials(above, degree) == 2 ** (degree + 2) - 2
powers = torch.stack([above**j for j in range(1, 6)], dim=1)  # (7, 5)
alternating = torch.tensor([1.0, -1] * 3 + [1], dtype=f64)
assert not separable(powers, alternating)
assert separable(powers[:6], alternating[:6])
assert count_rectangles(diamond) == 16
five = torch.cat((diamond, torch.tensor([[0.2, 0.1]], dtype=f64)))
assert count_rectangles(five) < 32

# %% [markdown]
# ### Exercise 4.6-4
#
# Two models are tested on the same $n$ images.
# Compare their errors by the differences $d_i\in\{-1,0,1\}$ of the two indicators.
# Why is the standard error of the mean of $d_i$ usually much smaller than if each model had a test set of its own?

# %% [markdown]
# #### Solution 4.6-4

# %% [markdown]
# Let both be wrong on a share $p_{11}$, only the first on $p_{10}$, only the second on $p_{01}$.
# The variance of $d_i$ is $p_{10}+p_{01}-(p_{10}-p_{01})^2$: images on which the models agree do not count.
# With separate test sets the variances of both models add up, $\epsilon_1(1-\epsilon_1)+\epsilon_2(1-\epsilon_2)$, which is larger by $2\operatorname{Cov}$, twice the covariance of the two indicators; two models usually fail on the same hard images.
# McNemar's test uses the same idea: among the images on which exactly one model fails, do both models fail about equally often?

# %%
rng = torch.Generator().manual_seed(12)
p11, p10, p01, n = 0.14, 0.04, 0.03, 2000
u = torch.rand(2000, n, generator=rng)  # 2000 shared test sets
first = (u < p11 + p10).float()  # both or only the first is wrong
second = ((u < p11) | ((u >= p11 + p10) & (u < p11 + p10 + p01))).float()
paired = (first - second).mean(dim=1).std().item()
unpaired = (first[:1000].mean(dim=1) - second[1000:].mean(dim=1)).std()
formula = math.sqrt((p10 + p01 - (p10 - p01) ** 2) / n)
print(f"standard error: paired {paired:.4f} (formula {formula:.4f}), "
      f"separate test sets {unpaired:.4f}")
assert abs(paired / formula - 1) < 0.06 and paired < 0.6 * unpaired

# %%
def mcnemar(first, second):
    """Exact two-sided p-value; counts of images only one model misses."""
    n = first + second
    return min(1.0, 2 * binomial_tail(max(first, second), n, 0.5))


assert abs(mcnemar(10, 2) - 2 * (1 + 12 + 66) / 2**12) < 1e-9
assert mcnemar(2, 10) == mcnemar(10, 2) and mcnemar(5, 5) == 1

W1, b1 = train_linear(X, y, epochs=2)  # a second model: two epochs
wrong2 = ((X_test @ W1 + b1).argmax(dim=1) != y_test).double()
difference = wrong2 - wrong  # (10 000,) of -1, 0, 1
se = difference.std() / math.sqrt(len(difference))
se_two = ((wrong.var() + wrong2.var()) / len(wrong)).sqrt()
discordant = [int((difference == v).sum()) for v in (1, -1)]
p_value = mcnemar(*discordant)
print(f"difference {difference.mean():.4f}, paired standard error "
      f"{se:.4f}, unpaired {se_two:.4f}")
print(f"only one wrong: {discordant}; McNemar's test says",
      "different" if p_value < 0.05 else "undecided")
assert se < 0.8 * se_two

# %% [markdown]
# ### Exercise 4.6-5
#
# Two models have accuracies 0.90 and 0.91.
# How large must two separate test sets be so that the difference is seen at 95 % confidence?
# Check by simulation how often it then *is* seen.

# %% [markdown]
# #### Solution 4.6-5

# %% [markdown]
# The variance of the difference is $(0.09+0.0819)/n$.
# If 1.96 standard errors equal 0.01, then $n=0.1719\cdot(1.96/0.01)^2\approx6\,600$.
# But the measured difference is below its mean half of the time, and then it is not significant: the test finds the difference only in every second case.
# Its *power* is 0.5.
# A power of 0.8 needs room for another 0.84 standard errors, $n=0.1719\cdot(2.80/0.01)^2\approx13\,500$.
# By Exercise 4.6-4 a shared test set needs fewer, the more the errors of the two models coincide.

# %%
rng = torch.Generator().manual_seed(13)
for power in (0.5, 0.8):
    z = normal.inv_cdf(0.975) + normal.inv_cdf(power)
    n = math.ceil((0.09 + 0.0819) * (z / 0.01) ** 2)
    a, c = (torch.binomial(torch.full((20_000,), float(n)),
                           torch.full((20_000,), rate), rng) / n
            for rate in (0.10, 0.09))
    se = ((a * (1 - a) + c * (1 - c)) / n).sqrt()
    found = (a - c > normal.inv_cdf(0.975) * se).double().mean().item()
    print(f"n = {n}: difference seen in {found:.3f} of the cases")
    assert abs(found - power) < 0.02

# %% [markdown]
# ### Exercise 4.6-6
#
# A model makes no error on $n$ test examples.
# What is the largest error rate that a one-sided 95 % interval still contains?
# Show that it is close to $3/n$.
# How many kilometres without an accident show that a car has fewer than one in 100 million?

# %% [markdown]
# #### Solution 4.6-6

# %% [markdown]
# No error in $n$ has probability $(1-\epsilon)^n$, which is 0.05 for $\epsilon=1-0.05^{1/n}$.
# Since $0.05^{1/n}=e^{-\log(20)/n}\approx1-\log(20)/n$ and $\log20\approx2.996$, this is close to $3/n$, the *rule of three*.
# Three hundred million kilometres without an accident are needed, more than three years for a hundred cars driving day and night at 100 km/h, and they would have to start again after each change of the software.
# The one-sided limit at 95 % is the upper end of the two-sided interval at 90 %.

# %%
for n in (10, 100, 1000, 10_000):
    limit = 1 - 0.05 ** (1 / n)
    upper = error_interval(0, n, level=0.90)[1]
    print(f"n {n:6}: {limit:.6f}, 3/n = {3 / n:.6f}")
    assert abs(upper - limit) < 1e-9 and limit < 3 / n
    assert n < 100 or abs(limit * n / 3 - 1) < 0.02
assert error_interval(0, 100, method="normal") == (0.0, 0.0)  # useless
assert 2.9e8 < math.log(20) / 1e-8 < 3e8

# %% [markdown]
# ### Exercise 4.6-7
#
# Show that the class $f(x)=\operatorname{sign}\sin(wx)$ with its single parameter $w$ shatters $2^{-1},\dots,2^{-N}$ for every $N$.

# %% [markdown]
# #### Solution 4.6-7

# %% [markdown]
# Take $x_j=2^{-j}$ for $j=1,\dots,N$, let $c_i$ be 1 where the label is negative and 0 where it is positive, and choose
# $w=\pi\left(1+\sum_ic_i2^i\right)$.
# In $wx_j/\pi$ the terms with $i>j$ are even and drop out of the sine, the term with $i=j$ is $c_j$, which decides the sign, and the rest lies between 0 and 1.

# %%
N = 8
x = 0.5 ** torch.arange(1, N + 1, dtype=f64)  # 1/2, ..., 1/256
negative = torch.tensor(list(itertools.product((0.0, 1.0), repeat=N)),
                        dtype=f64)  # (256, 8)
w = math.pi * (1 + negative @ (1 / x))  # (256,), one number per labeling
made = torch.sin(w[:, None] * x) < 0  # (256, 8)

# %%
# check 4.6-C11: one parameter shatters eight points
assert torch.equal(made, negative.bool())
assert len(made.unique(dim=0)) == 256 and len(w.unique()) == 256

# %%
labels = torch.tensor([0.0, 1, 1, 0], dtype=f64)  # 1: negative
w4 = math.pi * (1 + (labels * 2 ** torch.arange(1, 5)).sum())
ts = torch.linspace(0.0, 0.56, 1500, dtype=f64)
ax = d2l.plot(ts, torch.sin(w4 * ts), xlabel="x", ylabel=r"$\sin(wx)$")
for sign, marker, color in ((0, "s", "C0"), (1, "o", "C6")):
    at = x[:4][labels == sign]
    ax.plot(at, torch.sin(w4 * at), marker, color=color, mec="k", ms=8)
ax.axhline(0, color="black", lw=0.8)
d2l.describe(ax, """A sine of a well chosen frequency is positive at x = 1/2
    and 1/16 and negative at 1/4 and 1/8, as the labels ask.""")

# %% [markdown]
# **Figure 4.6.10.** One number, the frequency, gives four points the labels positive, negative, negative, positive, from right to left; another number would give any other labels.

# %% [markdown]
# ## Sources
#
# - W. Hoeffding, Probability inequalities for sums of bounded random variables, 1963, [doi:10.1080/01621459.1963.10500830](https://doi.org/10.1080/01621459.1963.10500830).
# - C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, 1934, [doi:10.1093/biomet/26.4.404](https://doi.org/10.1093/biomet/26.4.404); L. D. Brown, T. T. Cai and A. DasGupta, Interval estimation for a binomial proportion, 2001, [doi:10.1214/ss/1009213286](https://doi.org/10.1214/ss/1009213286): coverage of the normal interval.
# - C. Dwork et al., The reusable holdout: preserving validity in adaptive data analysis, 2015, [doi:10.1126/science.aaa9375](https://doi.org/10.1126/science.aaa9375).
# - A. Blum and M. Hardt, The ladder: a reliable leaderboard for machine learning competitions, 2015, [arXiv:1502.04585](https://arxiv.org/abs/1502.04585): the attack by majority vote.
# - B. Recht, R. Roelofs, L. Schmidt and V. Shankar, Do ImageNet classifiers generalize to ImageNet?, 2019, [arXiv:1902.10811](https://arxiv.org/abs/1902.10811).
# - V. N. Vapnik and A. Y. Chervonenkis, On the uniform convergence of relative frequencies of events to their probabilities, 1971, [doi:10.1137/1116025](https://doi.org/10.1137/1116025).
# - T. M. Cover, Geometrical and statistical properties of systems of linear inequalities with applications in pattern recognition, 1965, [doi:10.1109/PGEC.1965.264137](https://doi.org/10.1109/PGEC.1965.264137).
# - B. Lindström, On a combinatory detection problem, 1964; Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages, 1947, [doi:10.1007/BF02295996](https://doi.org/10.1007/BF02295996).
# - S. Shalev-Shwartz and S. Ben-David, *Understanding Machine Learning: From Theory to Algorithms*, 2014, [doi:10.1017/CBO9781107298019](https://doi.org/10.1017/CBO9781107298019): uniform convergence and the VC dimension.
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
