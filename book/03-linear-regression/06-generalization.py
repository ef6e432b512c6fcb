# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         test_size: 1000
#     outputs_mb: {limit: 1.2, reason: the frames of its slider figure}
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
# # 3.6 Generalization
#
# A model is trained on examples whose labels we know, and it is wanted for examples whose labels we do not know.
# When does success on the first say anything about the second?
# For least squares the question has exact answers; this section measures them and then turns to choosing between models without fooling yourself.
#
# **You will**
#
# - separate the training error from the generalization error, and say for which of the two an average over examples is an unbiased estimate;
# - predict by a formula how far the training error of least squares lies below the error on new data;
# - recognize underfitting and overfitting, and see when the error falls again as a model grows past the point where it fits everything;
# - choose a model by cross-validation, and measure what happens if the test set takes part in the choice or the data change their distribution.
#
# **Cost**: about half a minute on a CPU; nothing to download, no use for a GPU.

# %%
import math

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64  # interpolation needs every digit

# %% tags=["parameters"]
test_size = 2000  # examples in the test set of the polynomial experiments

# %% [markdown]
# ## Training error and generalization error
#
# In our running example the input $x$ is uniform on $[-1,1]$, and the label is
#
# $$y = \sin(\pi x)+\epsilon,\qquad \epsilon\sim\mathcal{N}(0,\sigma^2),\quad\sigma=0.2. \tag{3.6.1}$$
#
# Here $x$ and $y$ are numbers and $\epsilon$ is noise that is independent of $x$.
# Nobody who only knows $x$ can predict $\epsilon$, so no model has an expected squared error below the *noise floor* $\sigma^2=0.04$ on new examples.
# In this section a loss is the squared error *without* the factor $\frac12$ of [Section 3.1](01-linear-regression.ipynb), which makes errors and $\sigma^2$ comparable.

# %%
sigma = 0.2


def sample(*shape, generator, low=-1.0, high=1.0):
    """Inputs and labels of (3.6.1), each of the given shape."""
    u = torch.rand(shape, generator=generator, dtype=f64)
    x = low + (high - low) * u
    noise = sigma * torch.randn(shape, generator=generator, dtype=f64)
    return x, torch.sin(math.pi * x) + noise


rng = torch.Generator().manual_seed(2)
x, y = sample(20, generator=rng)  # (20,), (20,)
x_test, y_test = sample(test_size, generator=rng)  # (test_size,) each

# %% [markdown]
# The fastest way to a perfect score on these 20 examples is to write them down.

# %%
table = dict(zip(x.tolist(), y.tolist()))


def memorizer(x):
    """Look the label up; answer 0 where there is none."""
    return torch.tensor([table.get(v, 0.0) for v in x.tolist()], dtype=f64)


train_error = ((memorizer(x) - y) ** 2).mean().item()
test_error = ((memorizer(x_test) - y_test) ** 2).mean().item()
print(f"training error {train_error:.3f}, new examples {test_error:.3f}")
assert train_error == 0 and abs(test_error - 0.54) < 0.08

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.6))
wave = torch.linspace(-1, 1, 201, dtype=f64)
ax.plot(wave, torch.sin(math.pi * wave), color="black", ls=":")
ax.plot(wave, memorizer(wave), color="C1")
ax.vlines(x, 0, y, color="C1", lw=1)
ax.plot(x, y, "o", ms=4, color="C0")
ax.set(xlabel="x", ylabel="y")
d2l.describe(ax, """Twenty noisy points along one period of a sine. The
    answer of the table is a horizontal line at 0 with a vertical spike to
    each of the points.""")

# %% [markdown]
# **Figure 3.6.1.** Twenty examples (dots), the true function (dotted) and the answers of the table: right at the examples, 0 everywhere else.
#
# The table has training error 0 and has learned nothing: on a new input it answers 0, which costs $E[y^2]=\frac12+0.04$ on average.
# It *memorized* the examples where we wanted it to find the *pattern* behind them; the training examples alone do not show the difference.
#
# ### Two errors
#
# To speak about new examples we need an assumption about where they come from.
# The usual one is that all examples, old and new, are *independent and identically distributed* (IID): drawn from the same distribution $P$, and none influences another.
#
# Let $l(\mathbf{x},y,f(\mathbf{x}))$ be the loss of the model $f$ on one example.
# The *training error* or *empirical risk* is the mean loss over the $n$ training examples:
#
# $$R_{\mathrm{emp}}[\mathbf{X},\mathbf{y},f] = \frac1n\sum_{i=1}^n l\left(\mathbf{x}^{(i)},y^{(i)},f(\mathbf{x}^{(i)})\right). \tag{3.6.2}$$
#
# Here $\mathbf{X}\in\mathbb{R}^{n\times d}$ holds the features and $\mathbf{y}\in\mathbb{R}^n$ the labels.
# The *generalization error* or *risk* is the mean loss over all examples that could come:
#
# $$R[p,f] = E_{(\mathbf{x},y)\sim P}\left[l(\mathbf{x},y,f(\mathbf{x}))\right] = \iint l(\mathbf{x},y,f(\mathbf{x}))\,p(\mathbf{x},y)\,d\mathbf{x}\,dy, \tag{3.6.3}$$
#
# with $p$ the density of $P$: an *expectation*, the limit of the mean loss over an unlimited stream of further examples.
#
# In practice $p$ is unknown and the risk can only be estimated.
# In (3.6.1) it is known, and for the line $f(x)=x$
#
# $$R = \sigma^2+\frac12\int_{-1}^1\left(x-\sin\pi x\right)^2dx = \sigma^2+\frac13-\frac2\pi+\frac12. \tag{3.6.4}$$
#
# The factor $\frac12$ in front of the integral is the density of $x$; the last three terms are the means over $[-1,1]$ of $x^2$, of $-2x\sin\pi x$ and of $\sin^2\pi x$.

# %%
risk_line = sigma**2 + 1 / 3 - 2 / math.pi + 1 / 2
rng = torch.Generator().manual_seed(20)
x_sets, y_sets = sample(2000, 20, generator=rng)  # 2000 test sets of 20
estimates = ((x_sets - y_sets) ** 2).mean(dim=1)  # (2000,)
standard_error = (estimates.std() / math.sqrt(2000)).item()
print(f"risk {risk_line:.4f}, mean of the estimates "
      f"{estimates.mean().item():.4f} ± {standard_error:.4f}")
assert abs(estimates.mean() - risk_line) < 4 * standard_error

# %% [markdown]
# For a *fixed* model the mean loss over a *test set* of independent examples, the same formula (3.6.2), is an unbiased estimate of the risk: one set of 20 examples may miss by a lot, but not in a preferred direction, and the scatter falls like $1/\sqrt n$.
#
# The training error has the same formula and a different meaning, because the model was chosen with these very examples.
# A fit bends towards the noise of its own examples, and no other example has that noise.
# We fit a cubic to each of the 2000 sets.

# %%
powers = torch.arange(4)
A = x_sets[..., None] ** powers  # (2000, 20, 4)
w = torch.linalg.lstsq(A, y_sets[..., None]).solution  # (2000, 4, 1)
train = ((A @ w)[..., 0] - y_sets).square().mean(dim=1)  # (2000,)
grid = torch.linspace(-1, 1, 401, dtype=f64)
fitted = (grid[:, None] ** powers @ w)[..., 0]  # (2000, 401)
risk = sigma**2 + (fitted - torch.sin(math.pi * grid)).square().mean(dim=1)
below = (train < risk).double().mean().item()
print(f"training error below the risk in {100 * below:.0f} % of the sets; "
      f"means {train.mean():.3f} and {risk.mean():.3f}")
assert below > 0.9 and train.mean() < sigma**2 < risk.mean()

# %% [markdown]
# The aim is a small risk and not a small gap: a model that always answers 0 has nearly no gap, and it is useless.
# A small gap lets us see from the training data whether the risk is small.

# %% [markdown]
# ### Model complexity
#
# The memorizer would have reached training error 0 for *any* labels.
# A model that can agree with every possible outcome predicts none; Karl Popper asked of a scientific theory that an observation could refute it, that it be *falsifiable*.
# Linear models fit any labels too, once they have as many parameters as there are examples and the rows of features are linearly independent.

# %%
rng = torch.Generator().manual_seed(3)
features = torch.randn(20, 20, generator=rng, dtype=f64)
coins = torch.randint(0, 2, (20, 1), generator=rng).to(f64)
weights = torch.linalg.solve(features, coins)  # 20 equations, 20 unknowns
miss = (features @ weights - coins).abs().max().item()
print(f"coin tosses fitted with errors below 1e-9: {miss < 1e-9}")
assert miss < 1e-9

# %% [markdown]
# *Complexity* is the name for this ability to fit many different labelings, and there is no single number for it.
# More parameters make a model more complex, and so does a larger range of values that they may take.
#
# A low training error is evidence for a model that could have failed.
# That of a model that fits everything neither certifies a low risk nor excludes one, as Figure 3.6.5 will show.

# %% [markdown]
# ### How much too low is the training error?
#
# For least squares the answer is a formula.
# Let the labels be $\mathbf{y}=\mathbf{X}\mathbf{w}+\boldsymbol\epsilon$, with $\mathbf{X}\in\mathbb{R}^{n\times p}$ of independent standard normal features, $\mathbf{w}\in\mathbb{R}^p$, and independent noise of variance $\sigma^2$ in $\boldsymbol\epsilon\in\mathbb{R}^n$.
# The fit has $p$ coefficients and minimizes the squared error.
# Then, averaged over data sets,
#
# $$E[R_{\mathrm{emp}}] = \sigma^2\left(1-\frac pn\right),\qquad E[R] = \sigma^2\left(1+\frac p{n-p-1}\right), \tag{3.6.5}$$
#
# the first for $p\le n$ and the second for $p<n-1$.
# Each coefficient removes another share $\sigma^2/n$ from the training error, by fitting noise, and adds at least as much to the risk.
# With $n=50$, $p=25$ and $\sigma=1$ the training error is 0.5 and the risk $1+\frac{25}{24}\approx2.04$: the true function has risk 1, and the fit looks twice as good as that and is twice as bad.
#
# The first formula counts dimensions: the fit projects $\mathbf{y}$ onto the $p$-dimensional space of the columns of $\mathbf{X}$, and what is left of the noise lies in the other $n-p$ dimensions.
# The second adds the error of the coefficients; Exercise 3.6-6 derives both.
# The gap between the two errors is about $2\sigma^2p/n$ for $p\ll n$; with new labels at the *same* inputs it is exactly that, and is called *optimism*.

# %%
def ols_errors(n, p, runs, generator):
    """Training error and exact risk of least squares, shape (runs,)."""
    X = torch.randn(runs, n, p, generator=generator, dtype=f64)
    w = torch.randn(p, 1, generator=generator, dtype=f64)
    noise = torch.randn(runs, n, 1, generator=generator, dtype=f64)
    y = X @ w + noise  # (runs, n, 1), noise variance 1
    w_hat = torch.linalg.lstsq(X, y).solution  # (runs, p, 1)
    train = ((X @ w_hat - y) ** 2).mean(dim=(1, 2))
    risk = 1 + ((w_hat - w) ** 2).sum(dim=(1, 2))
    return train, risk


# %%
# check 3.6-C1: training error and risk of least squares follow (3.6.5)
rng = torch.Generator().manual_seed(4)
for n, p in ((50, 25), (50, 5), (100, 25)):
    train, risk = ols_errors(n, p, 300, rng)
    expected = (1 - p / n, 1 + p / (n - p - 1))
    for measured, theory in zip((train.mean(), risk.mean()), expected):
        assert abs(measured / theory - 1) < 0.06, (n, p)
    print(f"n={n:3d} p={p:2d}  training {train.mean().item():.2f} "
          f"(theory {expected[0]:.2f})  risk {risk.mean().item():.2f} "
          f"(theory {expected[1]:.2f})")

# %%
rng = torch.Generator().manual_seed(5)
n, counts = 50, list(range(1, 45, 3))
simulated = torch.stack([torch.stack(ols_errors(n, p, 300, rng)).mean(dim=1)
                         for p in counts])  # (15, 2)
p_axis = torch.linspace(0, 45, 91)
ax = d2l.plot(p_axis, [1 - p_axis / n, 1 + p_axis / (n - p_axis - 1)],
              ["training error, theory", "risk, theory"],
              xlabel="number of coefficients p (n = 50 examples)",
              ylabel="mean squared error", yscale="log", ylim=(0.08, 20))
for column, color, marker in zip(simulated.mT, ("C0", "C1"), "os"):
    ax.plot(counts, column, marker, ms=4.5, color=color)
ax.axhline(1, color="black", ls=":", lw=1)
ax.text(45, 1.06, "noise floor", ha="right", va="bottom")
ax.set_yticks([0.1, 0.3, 1, 3, 10], labels=["0.1", "0.3", "1", "3", "10"])
d2l.describe(ax, """Training error and risk of least squares against the
    number of coefficients for 50 examples. The training error falls
    linearly from 1 towards 0, the risk rises from 1 to more than 10.
    Points from 300 simulations each lie on both curves.""")

# %% [markdown]
# **Figure 3.6.2.** Curves are (3.6.5), points are means over 300 simulated data sets.
# The training error looks best just where the model is worst.

# %% [markdown]
# ## Underfitting or overfitting
#
# Compare the training error with a *validation error*, an estimate of the risk from independent examples.
# Two patterns call for opposite measures.
#
# If both errors are high and close to each other, the model is too simple to express the pattern: it is *underfitting*.
# The small gap $R-R_{\mathrm{emp}}$ says that more data will help little; a richer model may.
# (Some texts write the gap with the opposite sign.)
#
# If the training error is far below the validation error, the model is *overfitting*: part of what it learned is the noise of its examples.
#
# ### Polynomials
#
# Polynomials of degree $d$ are a family of models with one dial for complexity:
#
# $$\hat y = \sum_{i=0}^d x^iw_i. \tag{3.6.6}$$
#
# The input $x$ is one number, the features are its powers $1,x,\dots,x^d$, and $\mathbf{w}\in\mathbb{R}^{d+1}$ are the weights; this is linear regression with $p=d+1$ coefficients.
# Each degree contains all lower ones, so the training error does not rise with the degree; at degree $n-1$ it reaches 0 for $n$ distinct inputs (Exercise 3.6-1).
#
# On a computer, powers are ill-conditioned features: on $[-1,1]$, $x^{18}$ and $x^{20}$ are nearly the same column.
# The *Legendre polynomials* $P_0,\dots,P_d$ span the same functions, are orthogonal on $[-1,1]$ and follow from $P_0=1$, $P_1=x$ by the recurrence
#
# $$(k+1)\,P_{k+1}(x) = (2k+1)\,x\,P_k(x)-k\,P_{k-1}(x), \tag{3.6.7}$$
#
# where $k\ge1$ is the degree and $x$ a number; for example $2P_2=3x\cdot x-1$.
# All values stay in $[-1,1]$.

# %% tags=["export"]
def legendre_features(x, degree):
    """Legendre polynomials P_0..P_degree as features.

    `x` has shape (..., n) with values in [-1, 1]; returns
    (..., n, degree + 1).
    """
    columns = [torch.ones_like(x), x]
    for k in range(1, degree):
        columns.append(((2 * k + 1) * x * columns[k]
                        - k * columns[k - 1]) / (k + 1))
    return torch.stack(columns[:degree + 1], dim=-1)

# %% tags=["hide-input"]
A = legendre_features(x, 9)  # (20, 10)
torch.testing.assert_close(A[:, 2], 1.5 * x**2 - 0.5)
torch.testing.assert_close(
    A[:, 9], torch.special.legendre_polynomial_p(x, 9))
powers = x[:, None] ** torch.arange(10)  # (20, 10)
mixed = torch.linalg.lstsq(powers, A).solution  # same column space
torch.testing.assert_close(powers @ mixed, A)
assert legendre_features(x, 0).shape == (20, 1)
even = torch.linspace(-1, 1, 201, dtype=f64)
by_powers = torch.linalg.cond(even[:, None] ** torch.arange(21)).item()
by_legendre = torch.linalg.cond(legendre_features(even, 20)).item()
print(f"condition number: {by_powers:.0e} with the powers 0 to 20, "
      f"{by_legendre:.0f} with P_0 to P_20")
assert by_legendre < 10 and by_powers > 1e6

# %% [markdown]
# Now fit.
# Where the data leave coefficients undetermined, `lstsq` with the driver `gelsd` returns the solution with the smallest norm; the argument `scale` multiplies the features and will matter only there.
# The functions take many data sets at once, one for each row.

# %%
def fit_polynomial(x, y, degree, scale=1.0):
    """Least squares; (..., n) -> coefficients of P_k, (..., degree + 1).

    Beyond interpolation: of minimum norm for the features scale * P_k.
    """
    A = legendre_features(x, degree) * scale  # (..., n, degree + 1)
    solution = torch.linalg.lstsq(A, y[..., None], driver="gelsd").solution
    return solution[..., 0] * scale


def polynomial(w, x):
    """Values of polynomials `w` (..., degree + 1) at x, (..., n)."""
    A = legendre_features(x, w.shape[-1] - 1)
    return (A @ w[..., None])[..., 0]


def error(w, x, y):
    """Mean squared error of each polynomial on its examples, (...)."""
    return ((polynomial(w, x) - y) ** 2).mean(dim=-1)


# %% tags=["hide-input"]
fine = torch.linspace(-1, 1, 1001, dtype=f64)
_, axes = plt.subplots(1, 3, figsize=(7.2, 2.6), sharey=True)
for ax, degree in zip(axes, (1, 3, 15)):
    w = fit_polynomial(x, y, degree)
    ax.plot(fine, torch.sin(math.pi * fine), color="black", ls=":")
    ax.plot(fine, polynomial(w, fine), color="C1")
    ax.plot(x, y, "o", ms=4, color="C0")
    ax.set(title=f"degree {degree}", xlabel="x", ylim=(-2, 2))
axes[0].set_ylabel("y")
d2l.describe(axes, """Twenty noisy points along one period of a sine with
    three fits. The line misses the shape, the cubic follows the sine, the
    polynomial of degree 15 passes close to all points and swings out of
    the picture between them.""")

# %% [markdown]
# **Figure 3.6.3.** The same 20 examples (dots) fitted with three degrees; the dotted curve is the true function.
# Degree 1 underfits, degree 3 is about right, degree 15 overfits: it pays for closeness to the dots by wild swings between them.
#
# One data set may be lucky, so we take 40 and report medians: errors of an overfitting model range over many powers of ten, and a mean would show only the worst.

# %%
rng = torch.Generator().manual_seed(6)
x40, y40 = sample(40, 20, generator=rng)  # 40 data sets of 20
degrees = [*range(31), 35, 40, 50, 70, 100, 200, 400, 700, 1000]
train, test, norms, test_on = {}, {}, {}, {}
for degree in degrees:
    w = fit_polynomial(x40, y40, degree)  # (40, degree + 1)
    train[degree] = error(w, x40, y40)  # (40,)
    test[degree] = error(w, x_test, y_test)  # (40,)
    norms[degree] = torch.linalg.vector_norm(w, dim=-1)  # (40,)
    orthonormal = (2 * torch.arange(degree + 1, dtype=f64) + 1).sqrt()
    w = fit_polynomial(x40, y40, degree, orthonormal)  # for later
    test_on[degree] = error(w, x_test, y_test)  # (40,)
for degree in (0, 1, 2, 3, 4, 5, 9):
    print(f"degree {degree}: training {train[degree].median().item():.3f}"
          f"  test {test[degree].median().item():.2f}")

# %%
# check 3.6-C2: training error never rises, and vanishes at degree 19
for degree in range(1, 20):
    rise = train[degree] - train[degree - 1]  # (40,)
    assert rise.max() < 1e-6  # rounding only
assert train[19].max() < 1e-3

# %%
# check 3.6-C3: the test error falls, then explodes (floor 0.04)
worst = torch.stack([test[degree] for degree in range(20)]).argmax(dim=0)
assert (worst == 19).sum() >= 36
median = {degree: test[degree].median().item() for degree in degrees}
assert 0.21 < median[1] < 0.31 and 0.047 < median[3] < 0.065
assert median[12] > 1 and median[19] > 1e6
assert min(median.values()) > 0.9 * sigma**2

# %% [markdown]
# At degrees 1 and 3 both errors drop: the models become able to express the sine.
# After degree 3 the training error goes on falling, and the test error rises.
# At degree 19 every data set is matched (up to $10^{-3}$, because the equations can be very badly conditioned), and the error on new examples is astronomical.
# In nearly every one of the 40 sets the degree that looks best in training is the worst of all from 0 to 19.

# %% tags=["hide-input"]
shown = [*range(14), 15, 17, 19, 20, 22, 25, 30, 50, 100, 300, 1000]
fits = {d: fit_polynomial(x, y, d) for d in shown}
curve = torch.tensor([[error(fits[d], x, y), error(fits[d], x_test, y_test)]
                      for d in shown]).clamp(1e-4, 1e6)  # (25, 2)
wide = torch.linspace(-1, 1, 1601, dtype=f64)


def degree_axis(ax):
    """Degrees from 0 to 1000: linear up to 20, logarithmic beyond."""
    ax.set_xscale("symlog", linthresh=20, linscale=2)
    ax.set_xlim(-0.5, 1100)
    ax.set_xticks([0, 5, 10, 15, 20, 100, 1000],
                  labels=["0", "5", "10", "15", "20", "100", "1000"])
    ax.minorticks_off()


# %% tags=["hide-input"]
def draw(fig, degree):
    left, right = fig.subplots(1, 2)
    left.plot(wide, torch.sin(math.pi * wide), color="black", ls=":")
    left.plot(wide, polynomial(fits[degree], wide), color="C1", lw=1.4)
    left.plot(x, y, "o", ms=4, color="C0")
    left.set(xlabel="x", ylabel="y", ylim=(-2, 2))
    left.set_title(f"degree {degree:g}")
    i = shown.index(degree)
    for column, color, name in zip(curve.mT, ("C0", "C1"),
                                   ("training", "test")):
        right.plot(shown, column, color=color, lw=1.2, label=name)
        right.plot(degree, column[i], "o", ms=7, color=color)
    right.set(xlabel="degree", ylabel="mean squared error", yscale="log",
              ylim=(1e-4, 1e6))
    degree_axis(right)
    right.legend(loc="upper left")


d2l.sliders(draw, """Left: 20 points and a polynomial fit whose degree the
    slider sets. Right: training and test error against the degree, with a
    dot at the chosen one. The fit swings ever more wildly up to degree 19
    and calms down again beyond.""", figsize=(6.8, 2.7), degree=shown)

# %% [markdown]
# **Figure 3.6.4.** The data set of Figure 3.6.3 with the degree on a slider; values off the scale are drawn at its edge.

# %% [markdown]
# ### Beyond interpolation
#
# Classical accounts end here, with a curve like a U and the advice to stay on its left side.
# For $d\ge n$ there are infinitely many polynomials through all points, and `lstsq` picks the one with the smallest coefficients:
#
# $$\hat{\mathbf{w}} = \operatorname*{argmin}_{\mathbf{w}}\|\mathbf{w}\|\quad\text{subject to}\quad\mathbf{A}\mathbf{w}=\mathbf{y}. \tag{3.6.8}$$
#
# Here $\mathbf{A}\in\mathbb{R}^{n\times(d+1)}$ holds the Legendre features of the $n$ inputs and $\mathbf{y}\in\mathbb{R}^n$ their labels.
# With each further feature the old solution stays available, so the smallest norm can only fall.
# But the norm belongs to the features, and these can be scaled.
# We compare $P_k$ with the *orthonormal* features $\sqrt{2k+1}\,P_k$, which span the same polynomials.

# %%
# check 3.6-C4: beyond interpolation the test error falls again
for degree in (200, 1000):
    assert train[degree].max() < 1e-20
    assert 0.08 < median[degree] < 0.13
assert median[3] < median[1000] < median[1]
for low, high in zip((20, 30, 50, 100, 200), (30, 50, 100, 200, 1000)):
    assert (norms[high] <= norms[low] * (1 + 1e-6)).all()
on = {degree: test_on[degree].median().item() for degree in degrees}
for degree in (1, 3, 100, 1000):
    print(f"degree {degree:4}: test error {median[degree]:.3g} with P_k, "
          f"{on[degree]:.3g} with orthonormal features")
for degree in range(18):  # no freedom, no difference
    assert abs(on[degree] / median[degree] - 1) < 1e-3
assert median[1] < on[100] < on[1000] and abs(on[1000] - 0.53) < 0.05

# %% tags=["hide-input", "rtol=0.2"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 3))
for errors, fmt, name in ((train, "o-", "training"), (test, "s--", "test"),
                          (test_on, "^-.", "test, orthonormal")):
    line = torch.stack([errors[d].median() for d in degrees])
    if errors is not test_on:
        axes[0].plot(degrees[:11], line[:11], fmt, ms=4, label=name)
    axes[1].plot(degrees, line.clamp(min=1e-6), fmt, ms=3, label=name)
axes[0].set(title="up to degree 10", ylim=(0.01, 2))
axes[0].set_yticks([0.01, 0.1, 1], labels=["0.01", "0.1", "1"])
axes[1].set(title="up to degree 1000", ylim=(1e-4, 1e16))
axes[1].axvline(19, color="#777777", lw=1)
axes[1].text(25, 1e14, "degree $n-1$", va="center")
degree_axis(axes[1])
for ax in axes:
    ax.axhline(sigma**2, color="black", ls=":", label="noise floor")
    ax.set(xlabel="degree", ylabel="mean squared error", yscale="log")
axes[0].legend()
axes[1].legend(loc="upper left", fontsize="small")
d2l.describe(axes, """Median training and test error of 40 data sets
    against the degree. Left, to degree 10: the training error falls, the
    test error is smallest at degree 3. Right, to degree 1000: the test
    error climbs to a peak of many powers of ten at degree 19 and falls
    back below 1, to about 0.1 with the polynomials P_k and to about 0.5
    with orthonormal features.""")

# %% [markdown]
# **Figure 3.6.5.** Left, the classical picture: the test error has the form of a U.
# Right, a peak where the model can just fit everything, and a second descent behind it, to two different levels.
# From degree 19 on the training errors are rounding and lie below the picture.

# %% [markdown]
# This is *double descent*.
# With $P_k$, a model with fifty times as many parameters as examples and training error 0 is better than a line, though not as good as the cubic.
# With orthonormal features it is hardly better than always answering 0.
# Both models contain the same functions; only the norm differs.
# For orthonormal features it is the mean square of the function itself,
#
# $$\|\mathbf{w}\|^2 = \frac12\int_{-1}^1f(x)^2\,dx,\qquad f(x) = \sum_{k=0}^dw_k\sqrt{2k+1}\,P_k(x), \tag{3.6.9}$$
#
# with $\mathbf{w}\in\mathbb{R}^{d+1}$, because $\frac12\int P_jP_k\,dx$ is $\frac1{2k+1}$ for $j=k$ and 0 otherwise.
# The function through 20 points with the smallest mean square is nearly 0 everywhere and has a narrow spike at each point: the memorizer of Figure 3.6.1.
# With the features $P_k$ the same function has the squared norm $\sum_k(2k+1)\,w_k^2$, in which high degrees are expensive, so the fit keeps to low degrees as far as it can and is smoother.

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 2.6), sharey=True)
dense = torch.linspace(-1, 1, 4001, dtype=f64)
orthonormal = (2 * torch.arange(1001, dtype=f64) + 1).sqrt()
for ax, scale, name in zip(axes, (1.0, orthonormal), (
        "features $P_k$", r"features $\sqrt{2k+1}\,P_k$")):
    ax.plot(dense, torch.sin(math.pi * dense), color="black", ls=":")
    ax.plot(dense, polynomial(fit_polynomial(x, y, 1000, scale), dense),
            color="C1", lw=0.9)
    ax.plot(x, y, "o", ms=4, color="C0")
    ax.set(xlabel="x", title=name, ylim=(-1.6, 1.6))
axes[0].set_ylabel("y")
d2l.describe(axes, """Two interpolating polynomials of degree 1000 through
    the same 20 points. Left, smallest coefficients of P_k: a curve that
    roughly follows the sine between the points and has small spikes to
    some of them. Right, smallest coefficients of the orthonormal features:
    a line at 0 with a spike to every point.""")

# %% [markdown]
# **Figure 3.6.6.** Two polynomials of degree 1000 through the same points, each of smallest norm for its features.

# %%
# check: (3.6.9), and the spikes of the orthonormal fit
k = 2 * torch.arange(51, dtype=f64) + 1
w = fit_polynomial(x, y, 50, k.sqrt()) / k.sqrt()  # of the features
square = polynomial(w * k.sqrt(), dense) ** 2
mean_square = torch.trapezoid(square, dense) / 2
torch.testing.assert_close(mean_square, (w ** 2).sum(), rtol=1e-2, atol=0)
flat = polynomial(fit_polynomial(x, y, 1000, orthonormal), x_test)
away = (x_test[:, None] - x).abs().amin(dim=1) > 0.01  # from the points
assert flat[away].abs().median() < 0.05

# %% [markdown]
# So neither the number of parameters decides nor "the smallest norm": what counts is whether a small norm, for the features at hand, means a function like the true one.
# [Section 5.5](../05-multilayer-perceptrons/05-generalization-deep-learning.ipynb) follows double descent into networks.

# %% [markdown]
# ### Bias and variance
#
# Why is there a best degree in the classical range?
# Keep the inputs and draw the noise anew, many times.
# At an input $x$ the prediction $\hat f(x)$ then varies, and its squared distance to the true value $f(x)=\sin\pi x$ splits into two parts:
#
# $$E\left[\left(\hat f(x)-f(x)\right)^2\right] = \underbrace{\left(E[\hat f(x)]-f(x)\right)^2}_{\text{squared bias}}+\underbrace{E\left[\left(\hat f(x)-E[\hat f(x)]\right)^2\right]}_{\text{variance}}. \tag{3.6.10}$$
#
# All terms are numbers, and the expectations run over the noise; the cross term is zero because $\hat f(x)-E[\hat f(x)]$ has mean 0.
# *Bias* is what the model family misses on average, *variance* is how much a fit depends on the noise of its examples.
#
# Least squares predicts $\hat{\mathbf{y}}=\mathbf{H}\mathbf{y}$ at its own inputs, with the *hat matrix*
#
# $$\mathbf{H} = \mathbf{A}(\mathbf{A}^\top\mathbf{A})^{-1}\mathbf{A}^\top\in\mathbb{R}^{n\times n}, \tag{3.6.11}$$
#
# the projection onto the columns of $\mathbf{A}\in\mathbb{R}^{n\times(d+1)}$.
# The mean prediction is $\mathbf{H}\mathbf{f}$, with $\mathbf{f}\in\mathbb{R}^n$ the true values at the inputs, and the covariance is $\sigma^2\mathbf{H}\mathbf{H}^\top=\sigma^2\mathbf{H}$.
# So the variance, averaged over the inputs, is $\sigma^2\operatorname{tr}(\mathbf{H})/n=\sigma^2(d+1)/n$, whatever the inputs are.

# %%
x_grid = torch.linspace(-1, 1, 20, dtype=f64)  # fixed design
f_grid = torch.sin(math.pi * x_grid)
rng = torch.Generator().manual_seed(8)
noise = sigma * torch.randn(3000, 20, generator=rng, dtype=f64)
y_draws = f_grid + noise  # (3000, 20): 3000 draws of the noise
bias2, variance = {}, {}
for degree in (1, 3, 5, 9):
    A = legendre_features(x_grid, degree)  # (20, degree + 1)
    H = A @ torch.linalg.pinv(A)  # (20, 20)
    variance[degree] = (y_draws @ H.mT).var(dim=0).mean().item()
    bias2[degree] = ((H @ f_grid - f_grid) ** 2).mean().item()
    print(f"degree {degree}: squared bias {bias2[degree]:.5f}  variance "
          f"{variance[degree]:.4f}, theory {(degree + 1) / 500:.4f}")

# %%
# check 3.6-C9: variance is (d + 1) sigma^2 / n; bias falls with d
for degree in (1, 3, 9):
    expected = (degree + 1) * sigma**2 / 20
    assert abs(variance[degree] / expected - 1) < 0.1
assert abs(bias2[1] - 0.231) < 0.001 and abs(bias2[3] - 0.006) < 2e-4
assert bias2[5] < 1e-4
assert bias2[5] + variance[5] < bias2[3] + variance[3]  # the text below

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 3, figsize=(7.2, 2.6), sharey=True)
w_axis = torch.linspace(-1, 1, 201, dtype=f64)
for ax, degree in zip(axes, (1, 3, 12)):
    w = fit_polynomial(x_grid.expand(300, 20), y_draws[:300], degree)
    curves = polynomial(w, w_axis)  # (300, 201)
    ax.plot(w_axis, curves[:25].mT, color="#999999", lw=0.6)
    ax.plot(w_axis, curves.mean(dim=0), color="C1")
    ax.plot(w_axis, torch.sin(math.pi * w_axis), color="black", ls=":")
    ax.set(title=f"degree {degree}", xlabel="x", ylim=(-2, 2))
axes[0].set_ylabel("y")
d2l.describe(axes, """Fits to 25 draws of the noise for degrees 1, 3 and
    12, with their mean and the true sine. The lines agree with each other
    and miss the sine; the cubics do both well; the fits of degree 12 are
    right on average and scatter widely, most at the ends.""")

# %% [markdown]
# **Figure 3.6.7.** Fits to 25 draws of the noise (thin), the mean fit (orange) and the truth (dotted).
# Degree 1 has a large bias and a small variance, degree 12 no visible bias and a large variance.

# %% [markdown]
# From degree 3 to degree 5 the squared bias falls by more than the variance rises: with these equally spaced inputs degree 5 is slightly better than 3.
# Beyond it hardly any bias is left, and each further degree adds $\sigma^2/n$ of variance at the inputs, and more near the ends of the interval.
# The decomposition is an identity, but the *trade-off* is not a law about the number of parameters: beyond the peak, from degree 30 to degree 1000, the variance falls and the bias rises.

# %%
beyond = {}
for degree in (30, 1000):
    w = fit_polynomial(x_grid.expand(100, 20), y_draws[:100], degree)
    curves = polynomial(w, w_axis)  # (100, 201)
    miss = curves.mean(dim=0) - torch.sin(math.pi * w_axis)
    beyond[degree] = (miss ** 2).mean(), curves.var(dim=0).mean()
    print(f"degree {degree:4}: squared bias {beyond[degree][0]:.4f}, "
          f"variance {beyond[degree][1]:.4f}")
assert beyond[1000][0] > 2 * beyond[30][0]
assert beyond[1000][1] < beyond[30][1] / 2

# %% [markdown]
# ### Dataset size
#
# Another cure for overfitting is more data.
# Take a degree that is too large for 20 examples, 9, and let $n$ grow.

# %%
rng = torch.Generator().manual_seed(9)
sizes = [15, 20, 30, 50, 100, 200, 500, 1000]
x_many, y_many = sample(10_000, generator=rng)  # a large test set
learning = []
for n in sizes:
    xs, ys = sample(40, n, generator=rng)  # (40, n)
    w = fit_polynomial(xs, ys, 9)
    both = torch.stack((error(w, xs, ys), error(w, x_many, y_many)))
    learning.append(both.median(dim=1).values)  # (2,)
train_n, test_n = torch.stack(learning).mT  # (8,) each

# %%
# check 3.6-C8: with n the test error falls and the training error rises
rows = [sizes.index(n) for n in (15, 30, 100, 1000)]
assert (test_n[rows].diff() < 0).all()
assert (train_n[rows].diff() > 0).all()
assert test_n[rows[0]] > 0.5 and abs(test_n[rows[1]] - 0.07) < 0.02
for last in (test_n[rows[-1]], train_n[rows[-1]]):
    assert abs(last - sigma**2) < 0.003

# %% tags=["hide-input"]
ax = d2l.plot(sizes, [train_n, test_n], ["training", "test"],
              fmts=("o-", "s--"), xlabel="number of training examples n",
              ylabel="mean squared error", xscale="log", yscale="log",
              ylim=(0.008, 40))
ax.axhline(sigma**2, color="black", ls=":", lw=1)
ax.text(1000, 0.032, "noise floor", ha="right", va="top")
ax.set_xticks([20, 50, 100, 200, 500, 1000],
              labels=["20", "50", "100", "200", "500", "1000"])
ax.set_yticks([0.01, 0.1, 1, 10], labels=["0.01", "0.1", "1", "10"])
ax.minorticks_off()
d2l.describe(ax, """Median training and test error of degree 9 against the
    number of examples, on log axes. The test error falls from above 1,
    the training error rises from about 0.01, and both approach the noise
    floor of 0.04.""")

# %% [markdown]
# **Figure 3.6.8.** A *learning curve*: the model stays the same, the data grow.
# The training error *rises* to the noise floor, since more examples are harder to fit by accident, and the test error falls to it.

# %% [markdown]
# More data can also hurt.
# With minimum-norm fits of degree 9, going from 5 to 10 examples means walking up the peak of Figure 3.6.5 from its other side.

# %%
rng = torch.Generator().manual_seed(10)
hurt = {}
for n in (5, 10):
    xs, ys = sample(40, n, generator=rng)
    w = fit_polynomial(xs, ys, 9)
    hurt[n] = error(w, x_test, y_test).median().item()
print(f"5 examples: test error {hurt[5]:.2f}; "
      f"10 examples: above 100 is {hurt[10] > 100}")
assert hurt[10] > 100 * hurt[5]

# %% [markdown]
# ## Model selection
#
# *Model selection* chooses among candidates; a candidate is all that was decided before the training, from the architecture and the features to the learning rate.
# The training error prefers the largest model, so the candidates must be compared on other data.
#
# ### Never on the test set
#
# The smallest of a thousand test errors is not an unbiased estimate of a risk: the winner was chosen *because* its error on this set was small, and part of that was luck.
# Here the labels are 100 coin tosses, and every candidate tosses its own coins.

# %%
def best_of(m, seed, n=100):
    """Best accuracy of `m` guessers on n coins, and on n fresh ones."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (2, n), generator=rng)  # test, fresh
    guesses = torch.randint(0, 2, (m, n), generator=rng)
    scores = (guesses == labels[0]).double().mean(dim=1)  # (m,)
    winner = guesses[scores.argmax()]
    return (winner == labels).double().mean(dim=1).tolist()


tries = [1, 10, 100, 1000]
luck = torch.tensor([[best_of(m, seed) for seed in range(20)]
                     for m in tries])  # (4, 20, 2)

# %%
# check 3.6-C10: selection on the test set invents accuracy
best, fresh = luck[-1].mT  # (20,) each: 1000 guessers
assert best.min() >= 0.60 and best.max() <= 0.74
assert abs(fresh.mean() - 0.5) < 0.05
print(f"best of 1000 guessers: {best.min().item():.2f} to "
      f"{best.max().item():.2f} on the test set; the winner on fresh "
      f"labels: {fresh.mean().item():.2f} on average")

# %% tags=["hide-input"]
_, ax = plt.subplots()
for k, (fmt, name) in enumerate((("s--", "on the test set that chose it"),
                                 ("o-", "on fresh labels"))):
    middle, spread = luck[..., k].mean(dim=1), luck[..., k].std(dim=1)
    shift = (0.94, 1.06)[k]  # side by side rather than on each other
    ax.errorbar([shift * m for m in tries], middle, spread, fmt=fmt, ms=5,
                capsize=3, color=("C1", "C0")[k], label=name)
ax.axhline(0.5, color="black", ls=":", lw=1)
ax.set(xlabel="number of guessers tried", xscale="log", ylim=(0.4, 0.8),
       ylabel="accuracy of the best")
ax.set_xticks(tries, labels=[str(m) for m in tries])
ax.minorticks_off()
ax.legend(loc="upper left")
d2l.describe(ax, """Accuracy of the best of 1, 10, 100 and 1000 random
    guessers. On the 100 labels that chose it, it rises from one half to
    about two thirds; on fresh labels it stays at one half.""")

# %% [markdown]
# **Figure 3.6.9.** Mean and standard deviation over 20 repetitions.
# The more candidates are tried, the better the best one looks, although none of them knows anything.
#
# So split the data in three: the *training set* fits the parameters, the *validation set* chooses among the candidates, and the *test set* is used once, at the end, to say how good the chosen model is.
# In practice the border is blurred: benchmarks are reused for years, and in this book too most validation errors serve both purposes.
# [Section 4.6](../04-linear-classification/06-generalization-classification.ipynb) measures the damage.

# %% [markdown]
# ### K-fold cross-validation
#
# Of 20 examples, a validation set of 5 leaves 15 to train on and estimates an error badly.
# *K-fold cross-validation* uses every example for both purposes, though not at the same time.
# It cuts the data into $K$ disjoint parts, trains $K$ times on $K-1$ of them, validates each time on the one that was left out, and averages the $K$ errors.

# %% [markdown]
# ![Layout of five-fold cross-validation. A bar of all data is divided into a long part for training and selection and a short part for the test. The long part is cut into five; in each of five rounds another part validates and the other four train. The five errors are averaged to the estimate for one candidate.](img/k-fold.svg)
#
# **Figure 3.6.10.** Five rounds, five errors, one mean; the test set stays closed until the choice is made.
#
# The folds are drawn at random, because data often arrive sorted, by date or by label.
# If $K$ does not divide $n$, some parts get one example more.

# %% tags=["export"]
def kfold_indices(n, k, generator=None):
    """Random folds for k-fold cross-validation of n examples.

    Returns k pairs (train_idx, val_idx) of index tensors. The k parts
    val_idx are disjoint, cover range(n), and differ in size by at most
    one. Without `generator` the global one draws.
    """
    if not 2 <= k <= n:
        raise ValueError(f"k = {k} folds of n = {n} examples; "
                         f"choose k from 2 to n.")
    parts = torch.randperm(n, generator=generator).tensor_split(k)
    return [(torch.cat(parts[:i] + parts[i + 1:]), parts[i])
            for i in range(k)]


def cross_validate(fit, score, X, y, k, generator=None):
    """Validation scores of k-fold cross-validation, shape (k, ...).

    `fit(X, y)` returns a model, and `score(model, X, y)` a number or a
    tensor. Everything that is estimated from data belongs in `fit`,
    preprocessing included. The mean over dimension 0 is the estimate.
    """
    folds = kfold_indices(len(X), k, generator)
    return torch.stack([torch.as_tensor(score(fit(X[t], y[t]), X[v], y[v]))
                        for t, v in folds])

# %%
for t, v in kfold_indices(7, 3, torch.Generator().manual_seed(11)):
    print("train on", t.tolist(), "validate on", v.tolist())

# %%
# check 3.6-C6: folds are disjoint, cover everything, are of equal size
for n, k in ((7, 3), (20, 5), (10, 10), (101, 7)):
    folds = kfold_indices(n, k, torch.Generator().manual_seed(12))
    assert len(folds) == k
    for t, v in folds:
        assert sorted(t.tolist() + v.tolist()) == list(range(n))
    together = torch.cat([v for _, v in folds])
    assert sorted(together.tolist()) == list(range(n))
    lengths = [len(v) for _, v in folds]
    assert max(lengths) - min(lengths) <= 1
a, b, c = (torch.cat([v for _, v in kfold_indices(
    20, 5, torch.Generator().manual_seed(seed))]) for seed in (1, 1, 2))
assert torch.equal(a, b) and not torch.equal(a, c)  # drawn at random
assert not torch.equal(a, torch.arange(20))
assert len(kfold_indices(4, 2)) == 2
for n, k in ((5, 1), (5, 6)):
    try:
        kfold_indices(n, k)
        raise AssertionError(f"{k} folds of {n} should be rejected")
    except ValueError as refusal:
        assert "choose k from 2" in str(refusal)


def drawn(generator=None):
    """What cross-validation leaves out in each round."""
    return cross_validate(lambda X, y: None, lambda model, X, y: X,
                          torch.arange(20), torch.zeros(20), 5, generator)


state = torch.get_rng_state()
own = [drawn(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
assert torch.equal(own[0].ravel(), a)  # the folds of its generator
assert torch.equal(own[0], own[1]) and not torch.equal(own[0], own[2])
assert torch.equal(torch.get_rng_state(), state)  # left alone
by_default = drawn()
torch.set_rng_state(state)
assert torch.equal(drawn(), by_default)  # the global one draws

# %% [markdown]
# Now let five folds choose the degree of the polynomial from 0 to 12.
# All candidates get the same folds: `fit` returns the polynomials of all 13 degrees, and `score` a vector of 13 errors.

# %%
def fit_all(x, y):
    return [fit_polynomial(x, y, degree) for degree in range(13)]


def score_all(models, x, y):
    return torch.stack([error(w, x, y) for w in models])  # (13,)


def score_new(models, x, y):
    return score_all(models, x_test, y_test)  # whatever x and y are


picks, estimates, truths, on_16 = [], [], [], []
for seed in range(60):
    rng = torch.Generator().manual_seed(100 + seed)
    xs, ys = sample(20, generator=rng)
    scores = cross_validate(fit_all, score_all, xs, ys, 5, rng)  # (5, 13)
    estimates.append(scores.mean(dim=0))  # (13,)
    truths.append(score_all(fit_all(xs, ys), x_test, y_test))  # (13,)
    picks.append(estimates[-1].argmin().item())
    on_16.append(cross_validate(fit_all, score_new, xs, ys, 5, rng))

# %%
# check 3.6-C5: five folds pick a sensible degree almost always
sensible = sum(3 <= pick <= 7 for pick in picks)
print(f"{sensible} of 60 choices lie in 3..7")
assert sensible >= 54

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 2.9))
d2l.plot(range(13), [torch.stack(v).median(dim=0).values
                     for v in (estimates, truths)],
         ["5-fold estimate", "test error"], fmts=("o-", "s--"),
         xlabel="degree", ylabel="mean squared error", yscale="log",
         ylim=(0.03, 3e4), ax=axes[0])
axes[0].axhline(sigma**2, color="black", ls=":", lw=1)
axes[1].bar(range(13), [picks.count(d) for d in range(13)], color="C0")
axes[1].set(xlabel="chosen degree", ylabel="data sets (of 60)")
for ax in axes:
    ax.set_xticks(range(0, 13, 2))
d2l.describe(axes, """Left: the median five-fold estimate and the median
    test error over 60 data sets against the degree; both are smallest at
    degree 3, the estimate is above the test error. Right: the chosen
    degrees, most often 3, otherwise 4, 5 or 6.""")

# %% [markdown]
# **Figure 3.6.11.** Left: cross-validation follows the test error without having seen a test example.
# Right: its choices on 60 data sets of 20 examples.

# %%
chosen = torch.stack([truth[pick] for truth, pick in zip(truths, picks)])
greedy = torch.stack([truth[12] for truth in truths])
print(f"median test error: of the chosen degree {chosen.median():.3f}, "
      f"of the degree with the smallest training error "
      f"{greedy.median():.0f}")
assert chosen.median() < 0.09 and greedy.median() > 1

# %% [markdown]
# The estimate lies above the test error.
# Each round trains on 16 examples and not on 20 (Exercise 3.6-3), and the mean of five errors is ruled by the worst of them.
# We give the models of the rounds the large test set:

# %%
on_16 = torch.stack(on_16)  # (60, 5, 13): models of 16 examples
steps = {"20 examples": torch.stack(truths),
         "16 examples": on_16.flatten(0, 1),
         "16, mean of five": on_16.mean(dim=1)}
for name, values in steps.items():
    steps[name] = values.median(dim=0).values
    print(f"{name:16}  degree 3: {steps[name][3]:.3f}   "
          f"degree 12: {steps[name][12]:8.0f}")
full, fewer, mean = (v[12] for v in steps.values())
assert fewer / full > 30 and mean / fewer > 5
assert 1 < steps["16, mean of five"][3] / steps["20 examples"][3] < 1.2

# %% [markdown]
# At degree 3 neither matters much.
# At degree 12, near the peak of Figure 3.6.5, four examples fewer raise the median error more than thirty times, and the mean of five raises it again.
#
# Once the choice is made, train the chosen candidate on all $n$ examples.
#
# Cross-validation costs $K$ trainings per candidate, and deep learning mostly uses a single validation set.
# Whatever is computed from data, such as means for standardizing, must be computed within each round from its training part; otherwise the validation part leaks into training.
# And the smallest of many cross-validation errors is biased downwards by the choice, like the best guesser above: the final model still needs a test set.

# %% [markdown]
# ## Rules of thumb, and what they rest on
#
# Choose a model by a validation set, or by K-fold cross-validation where data are scarce, and keep a test set that no decision has seen.
# Large models that fit the training data perfectly can be good; judge them by validation, not by counting parameters.
#
# Both rules rest on the IID assumption.
# No held-out set notices if the new examples have another distribution, because its examples come from the old.
# Here a cubic is fitted to examples from $[-1,0]$, validated on $[-1,0]$, and then used on $[0,1]$.
# The law (3.6.1) stays the same, only the inputs change.

# %%
rng = torch.Generator().manual_seed(13)
x_half, y_half = sample(40, 20, generator=rng, low=-1, high=0)
x_in, y_in = sample(test_size, generator=rng, low=-1, high=0)
x_out, y_out = sample(test_size, generator=rng, low=0, high=1)
w = fit_polynomial(x_half, y_half, 3)  # (40, 4)
inside = error(w, x_in, y_in)  # (40,)
outside = error(w, x_out, y_out)  # (40,)
print(f"median error on [-1, 0]: {inside.median().item():.3f}, "
      f"on [0, 1]: {outside.median().item():.1f}")

# %%
# check 3.6-C11: an excellent error in the range says nothing beyond it
assert 0.04 < inside.median() < 0.06
assert outside.median() > 1

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 3))
ax.axvspan(-1, 0, color="#dddddd", lw=0)
ax.plot(w_axis, polynomial(w[:15], w_axis).mT, color="C1", lw=0.8)
ax.plot(w_axis, torch.sin(math.pi * w_axis), color="black", ls=":")
ax.plot(x_half[0], y_half[0], "o", ms=4, color="C0")
ax.text(-0.97, 2.6, "training and validation", va="center")
ax.text(0.03, 2.6, "use", va="center")
ax.set(xlabel="x", ylabel="y", xlim=(-1, 1), ylim=(-3, 3))
d2l.describe(ax, """Fifteen cubics fitted to examples on the left half of
    the interval. There they follow the sine closely; on the right half
    they fan out in all directions.""")

# %% [markdown]
# **Figure 3.6.12.** Cubics fitted to 15 data sets on the shaded half (the dots are one of them) agree with the truth (dotted) there and fan out on the other half.
#
# When the distribution shifts, an old error says nothing without further assumptions about what stays the same.
# [Section 4.7](../04-linear-classification/07-environment-and-distribution-shift.ipynb) lists useful ones.

# %% [markdown]
# ## Summary
#
# - The mean loss over independent examples is an unbiased estimate of the risk of a fixed model; the training error is biased, because the model was chosen on the same examples.
# - For least squares the expected training error is $\sigma^2(1-p/n)$ and the expected risk $\sigma^2(1+p/(n-p-1))$: the gap grows with $p/n$.
# - Both errors high: underfitting. Training error far below validation error: overfitting. Neither the gap nor the training error is the goal; the risk is.
# - Where these models can just interpolate, the test error peaks; how far the minimum-norm solution recovers beyond the peak depends on the features whose norm is kept small.
# - Choose by validation or cross-validation and test once: the best of many candidates looks better than it is, even if all of them guess.
# - A held-out error speaks for the distribution that its examples were drawn from.

# %% [markdown]
# ## Exercises
#
# ### Exercise 3.6-1
#
# When can polynomial regression be solved with training error exactly 0, whatever the labels are?
# State the condition on the degree and on the inputs, and prove it.
# What changes if one input occurs twice?

# %% [markdown]
# #### Solution 3.6-1

# %% [markdown]
# If and only if the $n$ inputs are distinct and the degree is at least $n-1$.
#
# *Sufficient*: the polynomial $\prod_{j\ne i}(x-x^{(j)})/(x^{(i)}-x^{(j)})$ has degree $n-1$, is 1 at $x^{(i)}$ and 0 at the other inputs.
# The sum of these, each multiplied by its label, hits all labels.
#
# *Necessary*: the feature matrix has $n$ rows and $d+1$ columns, so for $d<n-1$ its columns span less than $\mathbb{R}^n$, and most label vectors lie outside.
# If one input occurs twice, its two rows are equal, and two different labels cannot both be hit at any degree.
# Special labels can be fitted with fewer coefficients: if they lie on a line, degree 1 is enough.

# %%
nodes = torch.tensor([-0.9, -0.5, -0.2, 0.1, 0.6, 0.8], dtype=f64)  # n = 6
rng = torch.Generator().manual_seed(14)
labels = torch.randn(200, 6, generator=rng, dtype=f64)  # 200 label vectors
for degree in (4, 5, 9):
    w = fit_polynomial(nodes.expand(200, 6), labels, degree)
    solved = error(w, nodes.expand(200, 6), labels) < 1e-20
    assert solved.all() if degree >= 5 else not solved.any()
twice = torch.cat((nodes[:5], nodes[4:5]))  # one input occurs twice
w = fit_polynomial(twice.expand(200, 6), labels, 50)
left = (labels[:, 4] - labels[:, 5]) ** 2 / 12  # both at their mean
torch.testing.assert_close(error(w, twice, labels), left)

# %% [markdown]
# ### Exercise 3.6-2
#
# Name five situations in which the examples of a data set are not independent.
# Then simulate one: 30 examples with 10 features and noise of variance 1, where a careless merge of two files has put every row into the table twice.
# What does 5-fold cross-validation with random folds report, compared with the true risk and with the same procedure on the 30 distinct rows?

# %% [markdown]
# #### Solution 3.6-2

# %% [markdown]
# Several X-ray images of the same patient; consecutive frames of a video; the days of a time series; measurements of neighbouring places; copies of the same text on many web pages.
# In each case a held-out example has a close relative in the training set, and predicting it is easier than predicting a really new one.
# The remedy is to draw groups and not rows: all images of a patient go into the same fold, and time series are validated on later days.
#
# With duplicates most validation rows have their twin in the training part.
# Their errors are training errors, and in more than half of the simulated tables the mean of all falls below even the error of the best possible model, 1; without duplicates, on few examples, luck does that too, but far less often.
# Honest cross-validation errs on the other side, since it trains on 24 rows.

# %%
def fit_linear(X, y):
    return torch.linalg.lstsq(X, y).solution


def score_linear(w, X, y):
    return ((X @ w - y) ** 2).mean()


rows = []
for seed in range(100):
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(30, 10, generator=rng, dtype=f64)
    w = torch.randn(10, 1, generator=rng, dtype=f64)
    Y = X @ w + torch.randn(30, 1, generator=rng, dtype=f64)
    doubled = cross_validate(fit_linear, score_linear, X.repeat(2, 1),
                             Y.repeat(2, 1), 5, rng).mean()
    honest = cross_validate(fit_linear, score_linear, X, Y, 5, rng).mean()
    risk = 1 + ((fit_linear(X, Y) - w) ** 2).sum()
    rows.append(torch.stack((doubled, risk, honest)))
rows = torch.stack(rows)  # (100, 3)
doubled, risk, honest = rows.mean(dim=0).tolist()
print(f"with duplicates {doubled:.2f} < true {risk:.2f} < "
      f"honest {honest:.2f}")
assert doubled < risk - 0.3 and honest > risk
assert abs(risk / (1 + 10 / 19) - 1) < 0.06  # formula (3.6.5)
below = (rows < 1).double().mean(dim=0)  # below the best possible model
print(f"below 1 in {100 * below[0]:.0f} % of the tables, without "
      f"duplicates in {100 * below[2]:.0f} %")
assert below[0] > 0.5 > 0.3 > below[2]

# %% [markdown]
# ### Exercise 3.6-3
#
# Why is K-fold cross-validation expensive, and why is its estimate on average slightly too high?
# Use (3.6.5) to predict its expectation for least squares with $n=50$ and $p=10$ and $K=2,5,10,50$, and check the prediction.

# %% [markdown]
# #### Solution 3.6-3

# %% [markdown]
# It trains $K$ models for each candidate, each on nearly all data.
# Each of them is trained on $n'=n(1-1/K)$ examples and tested on independent ones, so the estimate is unbiased for the risk *of a model trained on $n'$ examples*, which is higher than that of a model trained on $n$.
# For least squares it is $\sigma^2\left(1+\frac p{n'-p-1}\right)$.
# A larger $K$ has less of this bias and costs more; $K=5$ and $K=10$ are the usual compromise.

# %%
rng = torch.Generator().manual_seed(15)
runs, n, p = 1000, 50, 10
X = torch.randn(runs, n, p, generator=rng, dtype=f64)
Y = torch.randn(runs, n, 1, generator=rng, dtype=f64)  # true weights 0
means = []
for k in (2, 5, 10, 50):
    squared = torch.empty(runs, n, dtype=f64)
    for t, v in kfold_indices(n, k, rng):
        w = torch.linalg.lstsq(X[:, t], Y[:, t]).solution  # (runs, p, 1)
        squared[:, v] = ((X[:, v] @ w - Y[:, v]) ** 2)[..., 0]
    means.append(squared.mean().item())
    theory = 1 + p / (n * (1 - 1 / k) - p - 1)
    print(f"K = {k:2d}: estimate {means[-1]:.3f}, theory {theory:.3f}")
    assert abs(means[-1] / theory - 1) < 0.04
print(f"risk of the model trained on all: {1 + p / (n - p - 1):.3f}")
assert means == sorted(means, reverse=True)

# %% [markdown]
# ### Exercise 3.6-4
#
# When can the training error be exactly 0?
# When can the generalization error be exactly 0?
# Give an example where both are, and one where only the first is although the labels have no noise.

# %% [markdown]
# #### Solution 3.6-4

# %% [markdown]
# The training error is 0 when some function of the model family passes through all training examples, and the training finds it.
# For that, equal inputs must have equal labels, and the family must be rich enough.
#
# The generalization error is 0 when the label is a function of the input, without noise, and the model equals this function for all inputs that can occur (up to a set of probability 0).
# With noise it is at least $\sigma^2$, whatever the model is.
# Training error 0 is not needed for a small generalization error, and not sufficient for it.
#
# Both are 0 if the true function belongs to the family and the examples determine it: four noiseless examples of a cubic fix the four coefficients.
# Only the first is if the family does not contain the true function: a polynomial through noiseless points of a sine equals the sine at these points and nowhere near all the others.

# %%
rng = torch.Generator().manual_seed(16)
points = torch.tensor([-0.8, -0.3, 0.4, 0.9], dtype=f64)


def a_cubic(x):
    return 1 - 2 * x + 3 * x**3


for target, exact in ((a_cubic, True), (lambda x: torch.sin(4 * x), False)):
    w = fit_polynomial(points, target(points), 3)
    assert error(w, points, target(points)) < 1e-25
    general = error(w, x_test, target(x_test)).item()
    assert (general < 1e-25) == exact
    print(f"training error 0, generalization error {general:.3f}")

# %% [markdown]
# ### Exercise 3.6-5
#
# You have 200 labelled examples and a polynomial of degree 9, and your manager asks whether 800 further labels are worth their price.
# How can the 200 examples answer?
# Make a prediction, then buy the data and compare.

# %% [markdown]
# #### Solution 3.6-5

# %% [markdown]
# Hold 50 examples out, train on random subsets of growing size of the other 150, and draw the learning curve of the held-out error.
# If it is still falling at the right end, more data help; if it is flat, they do not.
# For a forecast use the form that (3.6.5) suggests for $n\gg p$: the error is about $a+b/n$, where $a$ is what no amount of data removes.
# Fit $a$ and $b$ to the right part of the curve; with the purchase, training has $150+800=950$ examples.
#
# Can the forecast be refuted?
# It has to beat the *null forecast* that nothing changes, and one pool may be luck, so we repeat the purchase with 20 pools.

# %%
def purchase(seed):
    """Held-out errors for growing subsets, forecast, and what came."""
    rng = torch.Generator().manual_seed(seed)
    x, y = sample(1000, generator=rng)  # 150, 50 held out, 800 to buy
    x_held, y_held = x[150:200], y[150:200]
    errors = []
    for n in subset_sizes.tolist():
        chosen = torch.rand(300, 150, generator=rng).argsort(dim=1)[:, :n]
        w = fit_polynomial(x[chosen], y[chosen], 9)  # (300, 10)
        errors.append(error(w, x_held, y_held).median())
    errors = torch.stack(errors)  # (5,)
    w = fit_polynomial(x[:150], y[:150], 9)  # the last subset is all 150
    torch.testing.assert_close(errors[-1], error(w, x_held, y_held))
    late = 1 / subset_sizes[2:].to(f64)  # (3,): 1/n for 60, 100, 150
    design = torch.stack((torch.ones_like(late), late), dim=1)  # (3, 2)
    a, b = torch.linalg.lstsq(design, errors[2:, None]).solution[:, 0]
    x, y = (torch.cat((part[:150], part[200:])) for part in (x, y))
    assert len(x) == 950 and not torch.isin(x_held, x).any()
    bought = error(fit_polynomial(x, y, 9), x_held, y_held)
    return torch.cat((errors, (a + b / 950)[None], bought[None]))  # (7,)


subset_sizes = torch.tensor([25, 40, 60, 100, 150])
pools = torch.stack([purchase(seed) for seed in range(17, 37)])  # (20, 7)
print("held-out error:", [round(e, 3) for e in pools[0, :5].tolist()])
print(f"forecast for 950 examples {pools[0, 5]:.4f}, "
      f"after the purchase {pools[0, 6]:.4f}")
assert (pools[:, :5].diff(dim=1) < 0).all()  # the curves still fall

# %%
last, forecast, bought = pools[:, 4], pools[:, 5], pools[:, 6]
gain, promised = (last - bought).mean(), (last - forecast).mean()
nearer = (forecast - bought).abs() < (last - bought).abs()
print(f"mean gain {gain:.4f}, forecast {promised:.4f}; nearer than the "
      f"null forecast in {nearer.sum()} of 20 pools")
assert 0.5 < gain / promised < 1.3 and gain > 0
assert nearer.sum() < 17  # one pool of this size proves little
assert 1.1 < (last - bought).std() / gain < 1.7

# %% [markdown]
# On average the curve forecasts the gain to within about a third, where the null forecast says 0.
# Measured on 50 held-out examples, the gain of a single pool has a standard deviation larger than its mean, and the forecast often loses.
# Whether so small a gain is worth the price is for the manager to decide.

# %% [markdown]
# ### Exercise 3.6-6
#
# Derive $E[R_{\mathrm{emp}}]=\sigma^2(1-p/n)$ with the help of the hat matrix.
# Which of the assumptions of (3.6.5) do you need: normal features, normal noise, independence of the noise?
# Then derive the second formula; the mean of $(\mathbf{X}^\top\mathbf{X})^{-1}$ for independent standard normal features, $\mathbf{I}/(n-p-1)$, may be looked up.

# %% [markdown]
# #### Solution 3.6-6

# %% [markdown]
# The residual is $\mathbf{e}=\mathbf{y}-\mathbf{H}\mathbf{y}=(\mathbf{I}-\mathbf{H})(\mathbf{X}\mathbf{w}+\boldsymbol\epsilon)=(\mathbf{I}-\mathbf{H})\boldsymbol\epsilon$, because $\mathbf{H}\mathbf{X}=\mathbf{X}$.
# $\mathbf{I}-\mathbf{H}$ is symmetric and equal to its square, so
# $\|\mathbf{e}\|^2=\boldsymbol\epsilon^\top(\mathbf{I}-\mathbf{H})\boldsymbol\epsilon=\operatorname{tr}\left((\mathbf{I}-\mathbf{H})\boldsymbol\epsilon\boldsymbol\epsilon^\top\right)$.
# With $E[\boldsymbol\epsilon\boldsymbol\epsilon^\top]=\sigma^2\mathbf{I}$ the expectation is $\sigma^2\operatorname{tr}(\mathbf{I}-\mathbf{H})$.
# The trace of $\mathbf{H}=\mathbf{X}(\mathbf{X}^\top\mathbf{X})^{-1}\mathbf{X}^\top$ is that of $(\mathbf{X}^\top\mathbf{X})^{-1}\mathbf{X}^\top\mathbf{X}=\mathbf{I}\in\mathbb{R}^{p\times p}$, which is $p$.
# Dividing by $n$ gives the claim.
#
# Neither the features nor the noise need be normal.
# We used that the noise has mean 0, the same variance everywhere and no correlation between examples, that the true function is linear in the features, and that their columns are independent.
# As a by-product, $\|\mathbf{e}\|^2/(n-p)$ is an unbiased estimate of $\sigma^2$.
#
# For the risk, $\hat{\mathbf{w}}-\mathbf{w}=(\mathbf{X}^\top\mathbf{X})^{-1}\mathbf{X}^\top\boldsymbol\epsilon$ has the covariance $\sigma^2(\mathbf{X}^\top\mathbf{X})^{-1}$ for given $\mathbf{X}$.
# A new $\mathbf{x}$ with independent standard normal entries turns an error of the coefficients into the squared error $\|\hat{\mathbf{w}}-\mathbf{w}\|^2$ on average, so the risk exceeds $\sigma^2$ by $\sigma^2\operatorname{tr}E[(\mathbf{X}^\top\mathbf{X})^{-1}]=\sigma^2p/(n-p-1)$, the mean of an inverse Wishart distribution.
# Here normal features are needed.

# %%
rng = torch.Generator().manual_seed(18)
n, p, runs = 30, 8, 20_000
X = torch.rand(n, p, generator=rng, dtype=f64)  # not normal, not centred
noise = torch.rand(runs, n, generator=rng, dtype=f64) - 0.5
variance = 1 / 12  # of uniform noise
w = torch.ones(p, dtype=f64)
Y = X @ w + noise  # (runs, n)
H = X @ torch.linalg.pinv(X)  # (30, 30)
training = ((Y - Y @ H.mT) ** 2).mean(dim=1)  # (runs,)
theory = variance * (1 - p / n)
print(f"mean {training.mean().item():.5f}, theory {theory:.5f}")
assert abs(training.mean() / theory - 1) < 0.01
assert abs(training.mean() * n / (n - p) / variance - 1) < 0.01

# %% [markdown]
# ### Exercise 3.6-7
#
# The extreme of cross-validation is $K=n$: each round leaves out one example.
# Show that for least squares these $n$ trainings cost no more than one, because the error on each example of the fit without it follows from the fit to all of them.
# Check it against $n$ refits.

# %% [markdown]
# #### Solution 3.6-7

# %% [markdown]
# Let $e_i=y^{(i)}-\hat y^{(i)}$ be the residual of the fit to all examples and $h_{ii}$ the diagonal entry of the hat matrix (3.6.11).
# The error on example $i$ of the fit *without* it is
#
# $$y^{(i)}-\hat y^{(i)}_{-i} = \frac{e_i}{1-h_{ii}}. \tag{3.6.12}$$
#
# All four symbols are numbers; $\hat y^{(i)}_{-i}$ is the prediction at $\mathbf{x}^{(i)}$ of the fit to the other $n-1$ examples.
# For the proof, replace the label $y^{(i)}$ by $\hat y^{(i)}_{-i}$ and fit all $n$ examples.
# The fit without example $i$ already has the least squared error on the others, and it hits the replaced label exactly, so it is also the fit to all $n$.
# It is $\mathbf{H}$ times the changed labels, so its value at example $i$ is that of the original fit plus $h_{ii}$ times the change:
# $\hat y^{(i)}_{-i}=\hat y^{(i)}+h_{ii}(\hat y^{(i)}_{-i}-y^{(i)})$.
# Subtract both sides from $y^{(i)}$ and solve for $y^{(i)}-\hat y^{(i)}_{-i}$.
#
# An example with $h_{ii}$ near 1 pulls the fit onto itself: its residual is small and its true error is not.
# The $h_{ii}$, called *leverages*, lie between 0 and 1, and their sum is the trace of $\mathbf{H}$, the number of coefficients.

# %%
A = legendre_features(x, 5)  # (20, 6)
H = A @ torch.linalg.pinv(A)  # (20, 20)
h = H.diagonal()  # (20,) leverages
shortcut = (y - H @ y) / (1 - h)  # (20,) all from one fit
refits = []
for i in range(20):
    keep = torch.arange(20) != i
    w = fit_polynomial(x[keep], y[keep], 5)
    refits.append(y[i] - polynomial(w, x[i:i + 1])[0])
print(f"training error {((y - H @ y) ** 2).mean().item():.3f}, "
      f"leave-one-out error {(shortcut**2).mean().item():.3f}")

# %%
# check 3.6-C7: the shortcut equals 20 refits; trace H = coefficients
torch.testing.assert_close(shortcut, torch.stack(refits),
                           rtol=0, atol=1e-10)
assert abs(h.sum() - 6) < 1e-10
assert (h > 0).all() and (h < 1).all()

# %% [markdown]
# ## Sources
#
# - V. N. Vapnik, *The Nature of Statistical Learning Theory*, 1995, [doi:10.1007/978-1-4757-3264-1](https://doi.org/10.1007/978-1-4757-3264-1): risk, empirical risk and the question when they are close; K. Popper, *Logik der Forschung*, 1934: falsifiability.
# - L. Breiman and D. Freedman, How many variables should be entered in a regression equation?, 1983, [doi:10.1080/01621459.1983.10477941](https://doi.org/10.1080/01621459.1983.10477941): the risk in (3.6.5); B. Efron, The estimation of prediction error, 2004, [doi:10.1198/016214504000000692](https://doi.org/10.1198/016214504000000692): optimism.
# - S. Geman, E. Bienenstock and R. Doursat, Neural networks and the bias/variance dilemma, 1992, [doi:10.1162/neco.1992.4.1.1](https://doi.org/10.1162/neco.1992.4.1.1).
# - M. Belkin, D. Hsu, S. Ma and S. Mandal, Reconciling modern machine-learning practice and the classical bias-variance trade-off, 2019, [arXiv:1812.11118](https://arxiv.org/abs/1812.11118): double descent; T. Hastie, A. Montanari, S. Rosset and R. Tibshirani, Surprises in high-dimensional ridgeless least squares interpolation, 2022, [arXiv:1903.08560](https://arxiv.org/abs/1903.08560); V. Muthukumar, K. Vodrahalli, V. Subramanian and A. Sahai, Harmless interpolation of noisy data in regression, 2020, [arXiv:1903.09139](https://arxiv.org/abs/1903.09139): how a minimum norm loses the signal to high-degree features; M. Loog et al., A brief prehistory of double descent, 2020, [arXiv:2004.04328](https://arxiv.org/abs/2004.04328).
# - M. Stone, Cross-validatory choice and assessment of statistical predictions, 1974, [doi:10.1111/j.2517-6161.1974.tb00994.x](https://doi.org/10.1111/j.2517-6161.1974.tb00994.x); D. M. Allen, The relationship between variable selection and data augmentation and a method for prediction, 1974, [doi:10.1080/00401706.1974.10489157](https://doi.org/10.1080/00401706.1974.10489157): the shortcut (3.6.12).
# - C. Dwork et al., The reusable holdout, 2015, [doi:10.1126/science.aaa9375](https://doi.org/10.1126/science.aaa9375): what repeated use does to a test set.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
