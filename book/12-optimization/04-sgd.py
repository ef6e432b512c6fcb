# ---
# jupyter:
#   d2l:
#     data: [airfoil]
#     profiles:
#       gpu:
#         chains: 200000
#         paths: 2000
#         horizon: 10000
#         passes: 40
#         runs: 20
#       smoke:
#         chains: 2000
#         paths: 200
#         horizon: 300
#         passes: 2
#         runs: 4
#     rehearsal:
#       chains: 0.05
#       paths: 0.1
#       horizon: 0.1
#       passes: 0.1
#       runs: 0.5
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
# # 12.4 Stochastic gradient descent
#
# The gradient of a training loss is a mean over all examples, so one step of gradient descent reads the whole data set.
# Stochastic gradient descent reads one random example per step and is right only on average.
# What does the noise cost, how should the learning rate respond to it, and which guarantees are left?
#
# **You will**
#
# - derive the floor at which the loss stops under a constant learning rate, and confirm it on a toy problem and on data;
# - see why a rate must fall neither too fast nor too slowly;
# - prove the $O(1/\sqrt T)$ rate for convex losses with all its conditions, and test it against the average and the last iterate;
# - measure when shuffling the data beats drawing with replacement.
#
# **Cost**: about 20 seconds on a CPU, no use of a GPU, a download of 58 kB, once.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.optimization import (
    Airfoil, show_trace_2d, train_2d)

d2l.use_style()

# %% tags=["parameters"]
chains = 200_000  # simulated at once, for the noise floor
paths = 2000  # simulated at once, for each rate of convergence
horizon = 10_000  # most steps of those
passes = 40  # over the airfoil data
runs = 20  # on the airfoil data, in each of three groups

# %% [markdown]
# ## One example instead of all
#
# Let the loss be the mean of $n$ losses, one for each example,
#
# $$f(\mathbf{x})=\frac1n\sum_{i=1}^nf_i(\mathbf{x}), \tag{12.4.1}$$
#
# with parameters $\mathbf{x}\in\mathbb{R}^d$.
# Its gradient costs $n$ gradients of examples.
# Draw one index $i$ uniformly at random instead, at a cost that does not depend on $n$; then
#
# $$E_i[\nabla f_i(\mathbf{x})]=\frac1n\sum_{i=1}^n\nabla f_i(\mathbf{x})=\nabla f(\mathbf{x}), \tag{12.4.2}$$
#
# so $\nabla f_i$ is an unbiased estimate of the gradient, and stochastic gradient descent uses it as if it were exact:
#
# $$\mathbf{x}_{t+1}=\mathbf{x}_t-\eta_t\nabla f_{i_t}(\mathbf{x}_t), \tag{12.4.3}$$
#
# with a learning rate $\eta_t>0$ and a new index $i_t$ in each step.
# For $f_1=x^2$ and $f_2=(x-2)^2$ the slopes at $x=4$ are 8 and 4, their mean 6 is the slope of $f$, and both steps go the right way.
# At the minimum $x=1$ the slopes are 2 and $-2$: their mean is 0, and yet every step leaves the minimum.
#
# ![Five parabolas with different minima and their mean. Left of all the minima every example asks for a step to the right, right of them for one to the left; between them the examples disagree.](img/sgd-disagreement.svg)
#
# **Figure 12.4.1.** Five losses (thin) and their mean (thick).
# Outside the shaded region each example alone shows the right direction; inside, where the minimum lies, they contradict each other.
#
# We check (12.4.2) on real data: the airfoil measurements that the rest of the chapter uses ([Section 12.5](05-minibatch-sgd.ipynb) shows how they are loaded), 1500 rows with five standardized features and one standardized target.
# The loss of a row is half the squared error of a linear model.

# %%
data = Airfoil()
X, y = data.X, data.y[:, 0]  # (1500, 5), (1500,)
n = len(X)


def example_loss(w, x, target):
    """Half the squared error of one example, for weights w (5,)."""
    return (x @ w - target) ** 2 / 2


# check 12.4-C1: the mean of the examples' gradients is the full gradient
w = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=X.dtype)
each = torch.func.vmap(torch.func.grad(example_loss), in_dims=(None, 0, 0))(
    w, X, y)  # (1500, 5)
full = torch.func.grad(
    lambda w: ((X @ w - y) ** 2).mean() / 2)(w)
torch.testing.assert_close(each.mean(dim=0), full, rtol=0, atol=1e-12)
assert (each - full).norm(dim=1).median() > 0.5 * full.norm()

# %% [markdown]
# The single gradients are far from their mean: at this point, half of them are off by more than half its length.

# %% [markdown]
# ## Noise of a known size
#
# To see what noise does we add it ourselves, from $\mathcal{N}(0,\sigma^2)$ to each entry of the gradient of $x_1^2+2x_2^2$, the valley of [Section 12.3](03-gradient-descent.ipynb).
# The functions work on one point or on many at once.

# %%
def noisy_grad(grad, sigma, generator):
    """The function grad(x) + noise from N(0, sigma^2) in each entry."""
    def noisy(x):
        g = grad(x)
        return g + sigma * torch.randn(g.shape, generator=generator,
                                       dtype=g.dtype)
    return noisy


def sgd_2d(grad, eta_fn):
    """A step x <- x - eta_fn(t) grad(x), in place, t = 0, 1, ...

    For `train_2d`; x may also hold many points, (..., 2).
    """
    count = itertools.count()

    def step(x):
        x -= eta_fn(next(count)) * grad(x)
    return step


bends = torch.tensor([2.0, 4.0], dtype=torch.float64)  # curvatures


def canyon(x):
    """x1^2 + 2 x2^2, a valley along the first axis."""
    return (bends / 2 * x**2).sum()


def canyon_grad(x):
    """The gradient of `canyon` at one or many points (..., 2)."""
    return bends * x

# %% tags=["hide-input"]
def noisy_paths(rate, noise, steps, seeds=(0, 1, 2)):
    """One path (steps + 1, 2) for each seed, at a constant rate."""
    return [train_2d(sgd_2d(noisy_grad(
        canyon_grad, noise, torch.Generator().manual_seed(seed)),
        lambda t: rate), steps=int(steps)) for seed in seeds]


def draw(fig, rate, noise, steps):
    ax = show_trace_2d(canyon, {i: path for i, path in enumerate(
        noisy_paths(rate, noise, steps))}, fig.subplots(), (-6, 3), (-4, 3))
    for line in ax.lines:
        line.set(lw=0.8)
    ax.set_title(rf"$\eta={rate}$, $\sigma={noise:g}$, steps: {int(steps)}",
                 fontsize=9)


d2l.sliders(draw, """The elliptic contours of a valley with three paths that
    start at the same point on the lower left; they separate on the way and
    end as clouds around the centre.""", figsize=(4.2, 2.7),
            rate=[0.02, 0.05, 0.1, 0.3], noise=[0, 1, 3],
            steps=[5, 40, 150])

# %% [markdown]
# **Figure 12.4.2.** Three paths from the same start, with different draws of the noise.
# Far from the minimum they go the same way; near it they wander, and a larger rate makes them wander farther.

# %%
# check 12.4-C6: this noise is the noise of sampling one quadratic
def sampled_grad(generator):
    """The gradient of (x1 + w1)^2 + 2 (x2 + w2)^2 for a random w (2,)."""
    def grad(x):
        w = torch.tensor([0.5, 0.25]) * torch.randn(
            2, generator=generator, dtype=x.dtype)
        return bends * (x + w)  # -w has the law of w
    return grad


path = train_2d(sgd_2d(sampled_grad(torch.Generator().manual_seed(0)),
                       lambda t: 0.1), steps=50)
torch.testing.assert_close(path, noisy_paths(0.1, 1, 50)[0],
                           rtol=0, atol=1e-12)

# %% tags=["hide-input"]
# check: sigma scales the noise, the generator makes it, the step counts
exact = noisy_paths(0.1, 0, 50)[0]
torch.testing.assert_close(exact, exact[0] * (1 - 0.1 * bends) ** torch.arange(
    51)[:, None])
torch.testing.assert_close(
    noisy_paths(0.1, 3, 9)[1] - exact[:10],
    3 * (noisy_paths(0.1, 1, 9)[1] - exact[:10]))
state = torch.get_rng_state()
assert torch.equal(noisy_paths(0.1, 1, 9)[2], noisy_paths(0.1, 1, 9)[2])
assert torch.equal(state, torch.get_rng_state())
ends = torch.stack(noisy_paths(0.1, 1, 9))[:, -1]
assert (ends[0] - ends[1]).norm() > 0.1 < (ends[1] - ends[2]).norm()
x, seen = torch.zeros(3, 2), []
step = sgd_2d(lambda x: torch.ones_like(x), lambda t: seen.append(t) or t)
assert step(x) is None and step(x) is None and step(x) is None
assert seen == [0, 1, 2] and (x == -3).all()
ax = plt.figure().subplots()
draw(ax.figure, 0.3, 1, 15)
shown = torch.tensor(ax.figure.axes[-1].lines[1].get_xydata())
assert torch.equal(shown, noisy_paths(0.3, 1, 15)[1])
torch.testing.assert_close(torch.func.grad(canyon)(ends[0]),
                           canyon_grad(ends[0]))
plt.close(ax.figure)

# %% [markdown]
# For the same random draws both give the same path: adding noise to the gradient *is* sampling an example whose minimum is displaced at random, by $w_1\sim\mathcal{N}(0,\frac14)$ and $w_2\sim\mathcal{N}(0,\frac1{16})$.

# %% [markdown]
# ## The floor of a constant rate
#
# Take one coordinate with curvature $\lambda$, loss $\frac\lambda2x^2$, a constant rate $\eta$, and independent noise $\xi_t$ of mean 0 and variance $\sigma^2$:
#
# $$x_{t+1}=(1-\eta\lambda)\,x_t-\eta\,\xi_t. \tag{12.4.4}$$
#
# Square it and take expectations; the mixed term vanishes, as $\xi_t$ is independent of $x_t$ and has mean 0:
#
# $$E[x_{t+1}^2]=(1-\eta\lambda)^2\,E[x_t^2]+\eta^2\sigma^2. \tag{12.4.5}$$
#
# The first factor forgets the start, the last term adds noise anew in each step.
# They balance where $E[x^2]$ no longer changes, and there the mean of $x$ is 0, so it is a variance:
#
# $$v=\frac{\eta^2\sigma^2}{1-(1-\eta\lambda)^2}=\frac{\eta\,\sigma^2}{\lambda\,(2-\eta\lambda)},\qquad 0<\eta\lambda<2. \tag{12.4.6}$$
#
# For $\lambda=2$, $\eta=0.1$ and $\sigma=1$ this is $0.1/(2\cdot1.8)=0.028$.
# The expected loss stays at $\frac\lambda2v\approx\frac{\eta\sigma^2}4$ for small $\eta\lambda$, whatever the curvature.
# Halving $\eta$ about halves this floor; more steps do nothing.
# The noise floor of [Section 3.4](../03-linear-regression/04-linear-regression-scratch.ipynb) is something else: the loss that no model gets below.
# The floor of the learning rate comes on top of it.

# %% tags=["export"]
def stationary_variance(eta, curvature, sigma=1.0):
    """The variance at which SGD with a constant step stays.

    The loss is `curvature` x^2 / 2, the gradient has noise of standard
    deviation `sigma`. Infinite where the step is too large.
    """
    if not 0 < eta * curvature < 2:
        return float("inf")
    return eta * sigma**2 / (curvature * (2 - eta * curvature))

# %%
def expected_loss(eta_fn, steps, sigma=1.0, start=(-5.0, -2.0)):
    """E f(x_t), t = 0..steps, of SGD on `canyon`, from (12.4.5)."""
    square, losses = torch.tensor(start, dtype=torch.float64) ** 2, []
    for t in range(steps + 1):
        losses.append((bends / 2 * square).sum())
        square = ((1 - eta_fn(t) * bends) ** 2 * square
                  + (eta_fn(t) * sigma) ** 2)
    return torch.stack(losses)


def simulated(eta_fn, steps, count, sigma=1.0):
    """Mean of x_t^2 over `count` chains of SGD, (steps + 1, 2)."""
    rng = torch.Generator().manual_seed(0)
    step = sgd_2d(noisy_grad(canyon_grad, sigma, rng), eta_fn)
    x = torch.tensor([-5.0, -2.0], dtype=torch.float64).repeat(count, 1)
    squares = [x.square().mean(dim=0)]
    for _ in range(steps):
        step(x)
        squares.append(x.square().mean(dim=0))
    return torch.stack(squares)

# %%
floor_rates = (0.2, 0.1, 0.05)
squares = {eta: simulated(lambda t, eta=eta: eta, 80, chains)
           for eta in floor_rates}

# check 12.4-C2: the floor, simulated, in both coordinates
full_run = chains >= 200_000 and paths >= 2000 and horizon >= 10_000
full_run = full_run and passes >= 40 and runs >= 20
tolerance = 0.03 * max(1, 200_000 / chains) ** 0.5
for eta in floor_rates:
    v = torch.tensor([stationary_variance(eta, c) for c in (2.0, 4.0)])
    assert (squares[eta][-1] / v - 1).abs().max() < tolerance
for curvature, v in ((2, 0.027778), (4, 0.015625)):
    assert abs(stationary_variance(0.1, curvature) - v) < 5e-7

# %% tags=["hide-input"]
# check: limits and scaling of the formula; halving; the exact recursion
inf = float("inf")
for eta, curvature in ((1.0, 2.0), (0.0, 2.0), (-0.1, 2.0), (0.1, 20.0)):
    assert stationary_variance(eta, curvature) == inf
assert stationary_variance(1.9, 1.0) > 15 > 2 > stationary_variance(1.2, 1.0)
assert abs(stationary_variance(0.1, 2.0, 3.0) - 0.25) < 1e-12
floors = {eta: expected_loss(lambda t, eta=eta: eta, 400)[-1].item()
          for eta in floor_rates}
for eta in floor_rates:
    exact = sum(c / 2 * stationary_variance(eta, c) for c in (2.0, 4.0))
    assert abs(floors[eta] / exact - 1) < 1e-12
    path = expected_loss(lambda t, eta=eta: eta, 80)
    assert ((squares[eta] @ (bends / 2)) / path - 1).abs().max() < tolerance
    assert abs(floors[eta] / (2 * eta / 4) - 1) < 2.5 * eta  # coordinates: 2
assert 2 < floors[0.1] / floors[0.05] < 2.2
assert abs(expected_loss(lambda t: 0.05, 800)[-1] / floors[0.05] - 1) < 1e-12
assert expected_loss(lambda t: 0.1, 3)[0] == 25 + 2 * 4
assert abs(expected_loss(lambda t: 0.1, 80, 2.0)[-1] / floors[0.1] - 4) < 1e-6
assert abs(expected_loss(lambda t: 0.1, 50, 0.0)[-1]
           - canyon(noisy_paths(0.1, 0, 50)[0][-1])) < 1e-12
assert expected_loss(lambda t: 0.1, 0, start=(1.0, 3.0))[0] == 1 + 18

# %% tags=["hide-input"]
t = torch.arange(81)
fig, ax = plt.subplots(figsize=(5.5, 3))
for i, eta in enumerate(floor_rates):
    ax.plot(t, expected_loss(lambda t, eta=eta: eta, 80), color=f"C{i}", lw=1)
    ax.plot(t[::5], (squares[eta] @ (bends / 2))[::5], "osv"[i],
            color=f"C{i}", ms=4, label=rf"$\eta={eta}$")
    ax.axhline(floors[eta], color=f"C{i}", lw=0.6, ls="--")
ax.plot(t, expected_loss(lambda t: 0.05, 80, sigma=0.0), "k:", lw=1,
        label=r"$\eta=0.05$, no noise")
ax.set(yscale="log", xlabel="step $t$", ylabel=r"expected loss",
       ylim=(5e-3, 50))
ax.legend(fontsize=8)
d2l.describe(ax, """Expected loss against the step for three learning rates,
    markers on curves that fall and then stay at horizontal lines, the lower
    the smaller the rate. The curve without noise goes on falling.""")

# %% [markdown]
# **Figure 12.4.3.** Expected loss: simulated (markers), predicted by (12.4.5) (lines), and the floors of (12.4.6) (dashed).
# Without the noise (dotted), the same rate goes on falling.
#
# The large rate is faster at first and worse in the end.
# That suggests starting with a large rate and lowering it.

# %% [markdown]
# ## Falling rates
#
# Three common schedules are
#
# $$\eta_t=\eta_{(j)}\text{ for }t_j\le t<t_{j+1},\qquad \eta_t=\eta_0e^{-ct},\qquad \eta_t=\eta_0(\beta t+1)^{-\alpha}, \tag{12.4.7}$$
#
# piecewise constant, exponential and polynomial, with constants $\eta_0,c,\beta,\alpha>0$.
# How fast may the rate fall?
# Without noise, $x_T=x_0\prod_{t<T}(1-\eta_t\lambda)$.
# If $\eta_t\lambda<1$, the infinite product is 0 exactly if $\sum_t\eta_t=\infty$.
# An exponentially decaying rate has a finite sum: for $\eta_t=0.1\,e^{-0.1t}$ it is $0.1/(1-e^{-0.1})=1.05$, so all steps together move by at most 1.05 times the largest gradient on the way.

# %%
# check 12.4-C3: an exponential rate stops on the way
def exponential(eta0, c):
    return lambda t: eta0 * math.exp(-c * t)


def polynomial(eta0, beta, alpha):
    return lambda t: eta0 * (beta * t + 1) ** -alpha


def residual(eta_fn, curvature, steps):
    """What is left of x_0 after `steps` steps without noise."""
    return math.prod(1 - eta_fn(t) * curvature for t in range(steps))


fast, root = exponential(0.1, 0.1), polynomial(0.1, 0.1, 0.5)
assert abs(sum(fast(t) for t in range(1000)) - 1.05083) < 5e-6
for steps in (300, 1000):  # more steps do not help
    assert abs(residual(fast, 2, steps) - 0.108209) < 5e-7
    assert abs(residual(fast, 4, steps) - 0.008619) < 5e-7
assert abs(residual(root, 2, 50) - 0.00191) < 5e-6
assert abs(residual(root, 4, 50) - 1.3e-6) < 5e-8

# %% [markdown]
# With this schedule, about a tenth of the distance in the flat direction is left, however many steps follow.
# The other requirement is that the noise die out.
# Robbins and Monro (1951), who looked for the root of a function that can only be observed with noise, proved convergence in probability, under conditions on that function and the noise, for
#
# $$\sum_t\eta_t=\infty,\qquad\sum_t\eta_t^2<\infty. \tag{12.4.8}$$
#
# Among the polynomial rates those with $\frac12<\alpha\le1$ satisfy both.
# The second condition is sufficient, not necessary: on our quadratic, (12.4.5) drives $E[x^2]$ to 0 for every rate with $\eta_t\to0$ and $\sum_t\eta_t=\infty$, for example with $\alpha=\frac12$.
# For $\alpha<1$ it then follows the floor of the current rate, $\eta_t\sigma^2/2\lambda$.
# For $\eta_t\approx a/t$ the predicted variance is $\frac{a^2\sigma^2}{(2a\lambda-1)\,t}$ if $2a\lambda>1$; if not, the start is forgotten only like $t^{-2a\lambda}$.

# %%
steps = max(horizon // 5, 60)
schedules = {"constant": lambda t: 0.1,
             "piecewise constant": lambda t: (
                 0.1 if t < 200 else 0.02 if t < 600 else 0.004),
             "exponential": fast,
             r"$\alpha=\frac{1}{2}$": root,
             r"$\alpha=1$, $a=1$": polynomial(0.1, 0.1, 1.0),
             r"$\alpha=1$, $a=0.1$": polynomial(0.1, 1.0, 1.0)}
falling = {name: expected_loss(eta_fn, steps)
           for name, eta_fn in schedules.items()}
observed = {name: simulated(eta_fn, steps, paths) @ (bends / 2)
            for name, eta_fn in schedules.items()}

# %% tags=["hide-input"]
t = torch.arange(1, steps + 1)
some = torch.unique(torch.logspace(0, math.log10(steps), 16).long())
fig, ax = plt.subplots(figsize=(6, 3.6))
for i, name in enumerate(schedules):
    ax.plot(t, falling[name][1:], color=f"C{i}", lw=1)
    ax.plot(some, observed[name][some], "osv^Dx"[i], color=f"C{i}", ms=4,
            label=name)
ax.set(xscale="log", yscale="log", xlabel="step $t$", ylabel="expected loss")
ax.legend(fontsize=8)
d2l.describe(ax, """Expected loss against the step, both logarithmic, for six
    schedules. Constant and exponential rates end in horizontal lines, the
    piecewise constant one goes down in stairs, the polynomial ones end as
    straight lines of slopes -1/2, -1 and -0.4.""")

# %% [markdown]
# **Figure 12.4.4.** Expected loss for six schedules, all with $\eta_0=0.1$ and $\sigma=1$: simulated (markers), and exact by (12.4.5) (lines).
# The constant rate stays at its floor, and the piecewise constant one goes from floor to floor.
# The exponential one ends far above them: it has stopped on the way.

# %%
# the slopes at the end are those of theory: -1/2, -1, and -2 a lambda
late = 30_000
for alpha, a, slope in ((0.5, None, -0.5), (1.0, 1.0, -1.0),
                        (1.0, 0.1, -0.4)):
    eta_fn = polynomial(0.1, 0.1 if a != 0.1 else 1.0, alpha)
    loss = expected_loss(eta_fn, late)
    measured = math.log(loss[late] / loss[late // 10]) / math.log(10)
    assert abs(measured - slope) < 0.02
    limit = (eta_fn(late) / 2 if alpha == 0.5 else
             (1 / (2 * 2 - 1) + 4 / 2 / (2 * 4 - 1)) / late)
    if a != 0.1:  # predicted by the floor, by a^2 / (2 a lambda - 1) t
        assert abs(loss[late] / limit - 1) < 0.01
for name in schedules:  # the simulation follows, all along
    ratio = observed[name] / falling[name]
    assert (ratio - 1).abs().max() < 0.15 * max(1, 2000 / paths) ** 0.5
stairs = expected_loss(schedules["piecewise constant"], 2000)
for t, eta in ((200, 0.1), (600, 0.02), (2000, 0.004)):
    exact = sum(c / 2 * stationary_variance(eta, c) for c in (2.0, 4.0))
    assert abs(stairs[t] / exact - 1) < 0.01
matched = expected_loss(exponential(0.1, 0.004), 20_000)
best_here = expected_loss(polynomial(0.1, 0.1, 1.0), 20_000)
assert 1 < matched[2000] / best_here[2000] < 1.5
assert matched[2000] < expected_loss(fast, 2000)[-1] / 500
assert matched[-1] > 0.9 * matched[2000]
assert matched[-1] > 10 * best_here[-1]
if full_run:
    order = sorted(falling, key=lambda name: falling[name][-1])
    assert order[0] == r"$\alpha=1$, $a=1$"
    assert order[-2:] == ["exponential", r"$\alpha=1$, $a=0.1$"]
    stopped = falling["exponential"]
    assert abs(stopped[-1] / stopped[200] - 1) < 1e-6
    assert stopped[-1] > 5 * falling["constant"][-1]

# %% [markdown]
# The slopes are those of theory.
# Of the three polynomial rates $a/t$ with $a=1$ ends lowest; with $a$ ten times smaller, the loss falls like $t^{-0.4}$, more slowly than with $\alpha=\frac12$.
# At a fixed number of steps the exponential rate, too, suffers from its constant rather than its form: with $c=0.004$, chosen for these 2000 steps, it ends more than 500 times lower than with $c=0.1$ and within a factor of 1.5 of $a/t$ with $a=1$.
# Such a choice needs the number of steps in advance: after 20 000 steps the same $c$ has lowered the loss by less than a tenth more and is more than ten times above $a/t$.
#
# The fragility of $a/t$ is a known argument for longer steps together with averaging (Nemirovski and others, 2009; Polyak and Juditsky, 1992).
# If $\lambda$ is known, $\eta_t=\frac1{\lambda(t+1)}$ makes $x_T$ the exact mean of $T$ samples (Exercise 1).

# %% [markdown]
# ## A guarantee for convex losses
#
# Quadratics with constant noise are a model.
# What holds in general?
# Let $R(\mathbf{x})=E_\xi[f(\xi,\mathbf{x})]$ be convex with a minimizer $\mathbf{x}^*$, $R^*=R(\mathbf{x}^*)$.
# Step $t=1,2,\dots$ uses $\mathbf{g}_t\in\mathbb{R}^d$ with $E[\mathbf{g}_t\mid\mathbf{x}_t]=\nabla R(\mathbf{x}_t)$, or a subgradient where $R$ has a kink, and $E[\|\mathbf{g}_t\|^2]\le L^2$.
# Here $L$ bounds gradients; it is not the smoothness of Section 12.3, and smoothness is not needed.
# For a quadratic no such bound holds at every point of $\mathbb{R}^d$; the usual remedy restricts $\mathbf{x}$ to a bounded set and projects back after each step.
# Expand the squared distance after a step:
#
# $$\|\mathbf{x}_{t+1}-\mathbf{x}^*\|^2=\|\mathbf{x}_t-\mathbf{x}^*\|^2-2\eta_t\mathbf{g}_t^\top(\mathbf{x}_t-\mathbf{x}^*)+\eta_t^2\|\mathbf{g}_t\|^2. \tag{12.4.9}$$
#
# In expectation the last term is at most $\eta_t^2L^2$.
# In the middle one $\mathbf{g}_t$ becomes $\nabla R(\mathbf{x}_t)$, and convexity ([Section 12.2](02-convexity.ipynb)) says $\nabla R(\mathbf{x}_t)^\top(\mathbf{x}_t-\mathbf{x}^*)\ge R(\mathbf{x}_t)-R^*$, hence
#
# $$2\eta_t\left(E[R(\mathbf{x}_t)]-R^*\right)\le E[\|\mathbf{x}_t-\mathbf{x}^*\|^2]-E[\|\mathbf{x}_{t+1}-\mathbf{x}^*\|^2]+\eta_t^2L^2. \tag{12.4.10}$$
#
# Sum over $t=1,\dots,T$; the distances telescope, and with $r=\|\mathbf{x}_1-\mathbf{x}^*\|$
#
# $$2\sum_{t=1}^T\eta_t\left(E[R(\mathbf{x}_t)]-R^*\right)\le r^2+L^2\sum_{t=1}^T\eta_t^2. \tag{12.4.11}$$
#
# The terms $E[R(\mathbf{x}_t)]$ differ from step to step and cannot be taken out of the sum, so the bound does not carry over to any particular $\mathbf{x}_t$, such as the last.
# But Jensen's inequality bounds $R$ at the weighted average $\bar{\mathbf{x}}=\sum_t\eta_t\mathbf{x}_t/\sum_t\eta_t$:
#
# $$E[R(\bar{\mathbf{x}})]-R^*\le\frac{r^2+L^2\sum_t\eta_t^2}{2\sum_t\eta_t}. \tag{12.4.12}$$
#
# Among constant rates, $\eta=\frac r{L\sqrt T}$ makes the bound smallest:
#
# $$E[R(\bar{\mathbf{x}})]-R^*\le\frac{rL}{\sqrt T}. \tag{12.4.13}$$
#
# To halve the bound, take four times the steps.
# Some texts state this for $R$ at the last point, or write $E[\bar{\mathbf{x}}]-R^*$, which subtracts a loss from a point; the average inside $R$ is what was proved.

# %%
def average_bound(rates, r, L):
    """The bound (12.4.12) for the rates (T,) and the start's distance r."""
    return (r**2 + L**2 * rates.square().sum()) / (2 * rates.sum())


def constant(eta, T):
    return torch.full((T,), eta, dtype=torch.float64)


for T, r, L in ((100, 3.0, 1.0), (7, 0.5, 2.0)):
    eta = r / (L * math.sqrt(T))
    least = average_bound(constant(eta, T), r, L)
    assert abs(least - r * L / math.sqrt(T)) < 1e-12
    for other in (0.5, 0.9, 1.1, 2.0):
        assert average_bound(constant(other * eta, T), r, L) > least

# %% [markdown]
# The test problem is $f(\xi,x)=|x-\xi|$ with $\xi\sim\mathcal{N}(0,1)$, whose minimizer is the median, 0.
# Its subgradient is the sign of $x-\xi$, so $L=1$, and we start at $x_1=3$, so $r=3$.
# The risk is $R(x)=x\,(2\Phi(x)-1)+2\varphi(x)$ with the distribution function $\Phi$ and the density $\varphi$ of the normal distribution.

# %%
def sgd_average(subgrad, x0, eta_fn, T):
    """T steps of SGD from x0, a tensor of independent trials.

    Step t = 0, 1, ... has the rate eta_fn(t). Returns the averages of
    x_1..x_T weighted by the rates, and the last points x_{T+1}, both of
    the shape of x0; x0 is left as it is.
    """
    x, total, weight = x0.clone(), torch.zeros_like(x0), 0.0
    for t in range(T):
        eta = eta_fn(t)
        total += eta * x
        weight += eta
        x -= eta * subgrad(x)
    return total / weight, x


def sign_grad(seed):
    """Subgradients of |x - xi| in x, with a new xi for each entry."""
    rng = torch.Generator().manual_seed(seed)
    return lambda x: torch.sign(x - torch.randn(x.shape, generator=rng,
                                                dtype=x.dtype))


def excess(x):
    """R(x) - R* for R(x) = E |x - xi|."""
    normal = torch.distributions.Normal(x.new_tensor(0.0), 1.0)
    return (x * (2 * normal.cdf(x) - 1) + 2 * normal.log_prob(x).exp()
            - math.sqrt(2 / math.pi))


def linear_decay(eta0, T):
    return lambda t: eta0 * (1 - t / T)

# %% [markdown]
# Three outputs are compared at the rate of the theorem: the average, the last point, and the last point of a run whose rate falls linearly from that value to 0.
# Each point in the left-hand panel of Figure 12.4.5 is a mean over 2000 chains, in the right-hand one over 1000.

# %%
def three_outputs(scale, T, seed, shape):
    """Excess risk, mean over trials: average, last, last with decay."""
    x0 = torch.full(shape, 3.0, dtype=torch.float64)
    eta = scale * 3 / math.sqrt(T)
    average, last = sgd_average(sign_grad(seed), x0, lambda t: eta, T)
    decayed = sgd_average(sign_grad(seed), x0, linear_decay(eta, T), T)[1]
    return torch.stack([excess(x).mean(dim=-1)
                        for x in (average, last, decayed)])


names = ["average", "last, constant rate", "last, rate to 0"]
Ts = [T for T in (100, 300, 1000, 3000, 10_000) if T <= horizon]
by_T = torch.stack([torch.stack([three_outputs(1.0, T, seed, (paths,))
                                 for T in Ts]) for seed in (1, 2, 3)])
# (seeds, Ts, 3)
scales = 3.0 ** torch.arange(-3, 4, dtype=torch.float64)
tuned_T = min(1000, horizon)
by_scale = torch.stack([three_outputs(scales[:, None], tuned_T, seed,
                                      (len(scales), paths // 2))
                        for seed in (0, 1, 2, 3)])  # (seeds, 3, scales)

# %%
# check 12.4-C4: below the bound, and the order of the three outputs
bound = torch.stack([average_bound(constant(3 / math.sqrt(T), T), 3.0, 1.0)
                     for T in Ts])
assert (by_T[..., 0] < bound).all()
expected = {100: (0.021, 0.079, 0.014), 1000: (0.0020, 0.023, 0.0026),
            10_000: (0.00020, 0.0075, 0.00042)}
if full_run:
    for T, values in expected.items():
        found = by_T[:, Ts.index(T)]
        assert (found / found.new_tensor(values) - 1).abs().max() < 0.2
    average, last, decayed = by_T[:, 2:].unbind(dim=-1)
    assert (average < decayed).all()
    assert (by_T[:, 0, 2] < by_T[:, 0, 0]).all()  # not yet for T = 100
    gain = by_T[..., 1] / by_T[..., 2]  # of the decay, (seeds, Ts)
    assert (gain[:, 0] < 7).all() and (gain[:, -1] > 15).all()
    assert (gain.diff(dim=1) > 0).all()
    assert ((gain[:, 2] > 8) & (gain[:, 2] < 12)).all()
    slopes = (by_T[:, -1] / by_T[:, 0]).log() / math.log(100)
    assert (slopes - slopes.new_tensor([-1.0, -0.5, -0.75])).abs().max() < 0.05

# %%
def plain_sign(x):
    """The subgradient of |x|: no noise at all."""
    return torch.sign(x)


for k in (4, 16, 64):  # k^2 steps from 3, exact in binary
    x0 = torch.tensor([3.0], dtype=torch.float64)
    average, last = sgd_average(plain_sign, x0, lambda t: 3 / k, k * k)
    assert average.item() == 3 / k * (k + 1) / (2 * k) and last == 0
    assert x0 == 3

noiseless = {}  # the average, for T one below a square
for k in (10, 17, 32, 55, 100):
    T = k * k - 1
    eta = 3 / math.sqrt(T)  # also the bound
    noiseless[T] = sgd_average(plain_sign, x0, lambda t: eta, T)[0].item()
    share = math.sqrt(T) - k + 1
    assert abs(noiseless[T] / eta - share) < 1e-9 and share > 1 - 1 / k

# %% tags=["hide-input"]
# check: weights of the average; R and its slope; the decay ends at 0
average, last = sgd_average(torch.ones_like, torch.zeros(2),
                            lambda t: 1 / (t + 1), 3)
torch.testing.assert_close(average, torch.full((2,), -6 / 11))
torch.testing.assert_close(last, torch.full((2,), -11 / 6))
assert excess(torch.tensor(0.0)).abs() < 1e-6
far = torch.tensor([-9.0, 9.0], dtype=torch.float64)
torch.testing.assert_close(excess(far), 9 - far.new_tensor(2 / math.pi).sqrt()
                           .expand(2))
x = torch.full((100_000,), 0.5, dtype=torch.float64)
assert abs(sign_grad(0)(x).mean() - torch.func.grad(excess)(x[0])) < 0.01
assert not torch.equal(sign_grad(0)(x), sign_grad(1)(x))
assert [linear_decay(2.0, 4)(t) for t in (0, 1, 3, 4)] == [2, 1.5, 0.5, 0]

# %% tags=["hide-input", "rtol=0.1"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2),
                                  layout="constrained")
left.plot(Ts, bound, "k-", lw=1, label="bound (12.4.13)")
left.plot(*zip(*noiseless.items()), "kx", ms=4,
          label="average, $|x|$ without noise")
for i, name in enumerate(names):
    for seed in range(3):
        left.plot(Ts, by_T[seed, :, i], "osv"[i], color=f"C{i}", ms=4,
                  label=name if seed == 0 else None)
        right.plot(scales, by_scale[seed + 1, i], "osv"[i] + "-",
                   color=f"C{i}", ms=4, lw=0.6)
left.set(xscale="log", yscale="log", xlabel="steps $T$",
         ylabel="excess risk $R-R^*$")
right.set(xscale="log", yscale="log",
          xlabel=r"rate in units of $r/L\sqrt{T}$")
right.set_title(f"$T={tuned_T}$", fontsize=9)
left.legend(fontsize=7)
d2l.describe(fig, """Left, excess risk against the number of steps, both
    logarithmic: the bound falls with slope -1/2, the crosses of |x| without
    noise lie on it, the last point of a constant rate lies below it with the
    same slope, the decayed one lower, the average lowest for large T. Right,
    excess risk against the rate for one T: three valleys, whose bottoms are
    lowest for the average, higher for the decayed rate, highest for the
    constant rate.""")

# %% [markdown]
# **Figure 12.4.5.** Left: excess risk at the rate of the theorem, three seeds.
# The crosses are the average on $|x|$ without noise, for $T=99,\dots,9999$, each one below a square.
# Right: the same three outputs against the rate, $T=1000$, three seeds.

# %% tags=["rtol=0.1"]
picked = by_scale[0].argmin(dim=-1)  # rates chosen with seed 0
tuned = by_scale[1:].gather(2, picked.expand(3, 3)[:, :, None])[..., 0]
for i, name in enumerate(names):
    print(f"{name:20} best rate x {scales[picked[i]]:.2f}, excess "
          f"{tuned[:, i].min():.5f} to {tuned[:, i].max():.5f}")
assert tuned.shape == (3, 3)
if full_run:
    assert ((0 < picked) & (picked < len(scales) - 1)).all()
    assert (scales[picked] != 1).all()  # none at the theorem's rate
    average, last, decayed = tuned.T
    assert 1.3 * average.max() < decayed.min()
    assert 1.5 * decayed.max() < last.min()
    assert (scales[picked[0]] > scales[picked[2]] > scales[picked[1]])

# %% [markdown]
# At the theorem's rate the average is best from $T=1000$ on; for $T=100$ the last point of the falling rate is ahead.
# But that rate is not the best one for any of the three, so the right-hand panel gives each of them the same seven rates, chosen on another seed.
# The order for $T=1000$ remains: the average is best and prefers the largest rate, the last point of a constant rate is worst and needs the smallest one.
# Letting the rate fall to 0 divides the excess of the last point by about ten at the theorem's rate, and by more than 1.5 when both are tuned on these seven rates, without any averaging.
# At the theorem's rate that factor grows with $T$, from less than seven for $T=100$ to above fifteen for $T=10^4$.
#
# Here the average falls like $1/T$, faster than the bound, on a risk that is curved at its minimum.
# On $|x|$ without noise it need not.
# When $T=k^2$, the $k$-th step lands on the kink, and the average keeps about half of the bound.
# When $T=k^2-1$, the point jumps back and forth over the kink from the $k$-th step on, between points at unequal distances from it, and the average keeps $\sqrt T-k+1$ of the bound, which is more than $1-\frac1k$.
# So for the average at this rate, neither the power of $T$ nor the constant can be improved for all convex losses and all $T$.
#
# The last iterate has a theory of its own.
# For the subgradient method without noise, Zamani and Glineur (2023) determined the worst case of the last point: with the best constant rate their bound exceeds the optimal one by a factor $\sqrt{1+\frac14\log T}$, and a linearly falling rate attains the optimum.
# Defazio and others (2023) showed linear decay to be worst-case optimal for a class of methods that includes SGD, and Schaipp and others (2025) found that schedules in the training of language models behave much like such a convex bound.
# Averaging, too, is back: schedule-free methods (Defazio and others, 2024) build it into the step ([Section 12.11](11-lr-scheduling.ipynb)).

# %% [markdown]
# ### Other conditions, other rates
#
# | conditions on the loss and the noise | learning rate | guarantee |
# | --- | --- | --- |
# | convex, $E[\|\mathbf{g}\|^2]\le L^2$ | $\frac r{L\sqrt T}$ | $E[R(\bar{\mathbf{x}})]-R^*\le rL/\sqrt T$ |
# | also $\mu$-strongly convex, on a bounded set with projection | $\propto\frac1{\mu t}$ | $O(L^2/\mu T)$, for a weighted average |
# | smooth, bounded below, not convex, noise of bounded variance | $\propto\frac1{\sqrt T}$ | $\min_t E[\|\nabla R(\mathbf{x}_t)\|^2]=O(1/\sqrt T)$ |
# | strongly convex, all $f_i$ convex and smooth, all $\nabla f_i(\mathbf{x}^*)=0$ | constant, small enough | a constant factor per step, no floor |
#
# The last row is *interpolation*: one $\mathbf{x}^*$ fits every example.
# For least squares the proof takes two lines.
# Let the rows $\mathbf{a}_i\in\mathbb{R}^d$ have $\|\mathbf{a}_i\|^2\le B$ and let $\mathbf{e}_t=\mathbf{x}_t-\mathbf{x}^*$ be the error.
# The gradient of an example is $\mathbf{a}_i\mathbf{a}_i^\top\mathbf{e}_t$, so
#
# $$\|\mathbf{e}_{t+1}\|^2\le\|\mathbf{e}_t\|^2-\eta\,(2-\eta B)(\mathbf{a}_i^\top\mathbf{e}_t)^2,\qquad E[\|\mathbf{e}_{t+1}\|^2]\le\left(1-\eta\mu(2-\eta B)\right)E[\|\mathbf{e}_t\|^2] \tag{12.4.14}$$
#
# for $\eta B<2$, with $\mu$ the smallest eigenvalue of $\frac1n\sum_i\mathbf{a}_i\mathbf{a}_i^\top$.
# To test it we run SGD twice on the airfoil features: with the measured targets, and with targets that a linear model computed from the same features.
# Nothing else differs.

# %%
H = X.T @ X / n  # (5, 5)
best = torch.linalg.solve(H, X.T @ y / n)  # least squares
lam, U = torch.linalg.eigh(H)  # eigenvalues (5,), eigenvectors (5, 5)
B = X.square().sum(dim=1).max()


def example_sgd(targets, rates, epochs, count, replace, seed):
    """SGD on single examples from w = 0, for several rates at once.

    In each epoch each of `count` runs draws n examples, with replacement
    or in a random order; all rates see the same draws. Returns the
    weights after each epoch, (epochs + 1, len(rates), count, 5).
    """
    rng = torch.Generator().manual_seed(seed)
    eta = torch.tensor(rates, dtype=X.dtype)[:, None, None]
    w = torch.zeros(len(rates), count, X.shape[1], dtype=X.dtype)
    ends = [w]
    for _ in range(epochs):
        order = (torch.randint(n, (n, count), generator=rng) if replace else
                 torch.rand(n, count, generator=rng).argsort(dim=0))
        for a, b in zip(X[order], targets[order]):  # (count, 5), (count,)
            w = w - eta * ((w * a).sum(dim=-1) - b)[..., None] * a
        ends.append(w)
    return torch.stack(ends)


def predicted(eta):
    """Floors of E (w - best)^2 along the eigenvectors, (5,), by (12.4.6)."""
    noise = ((X @ best - y)[:, None] * (X @ U)).square().mean(dim=0)
    return torch.tensor([stationary_variance(eta, c, s**0.5)
                         for c, s in zip(lam.tolist(), noise.tolist())])

# %%
# check: the function makes the steps of torch.optim.SGD, in its order
order = torch.rand(n, 2, generator=torch.Generator().manual_seed(7)
                   ).argsort(dim=0)
w = torch.zeros(5, dtype=X.dtype, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.02)
for i in order[:, 1]:
    optimizer.zero_grad()
    example_loss(w, X[i], y[i]).backward()
    optimizer.step()
ends = example_sgd(y, [0.01, 0.02], 1, 2, False, seed=7)
assert ends.shape == (2, 2, 2, 5) and (ends[0] == 0).all()
torch.testing.assert_close(ends[1, 1, 1], w.detach(), rtol=1e-9, atol=1e-12)
drawn = torch.randint(n, (n, 1), generator=torch.Generator().manual_seed(7))
w = torch.zeros(5, dtype=X.dtype)
for i in drawn[:, 0]:
    w -= 0.02 * (w @ X[i] - y[i]) * X[i]
ends = example_sgd(y, [0.02], 2, 1, True, seed=7)
torch.testing.assert_close(ends[1, 0, 0], w, rtol=1e-9, atol=1e-12)
assert not torch.equal(ends[1], ends[2])

# %%
epochs = max(2, passes // 5)
distance = {}
for name, targets in (("measured targets", y), ("fitted targets", X @ best)):
    w = example_sgd(targets, [0.01], epochs, 3 * runs, True, seed=4)[:, 0]
    distance[name] = (w - best).square().sum(dim=-1).mean(dim=1)
factor = 1 - 0.01 * lam[0] * (2 - 0.01 * B)  # of (12.4.14)
line = distance["fitted targets"][0] * factor ** (n * torch.arange(epochs + 1))
level = predicted(0.01).sum()
assert 0.01 * B < 2 and line[1] < 0.05 * line[0]
assert (distance["fitted targets"] <= line * (1 + 1e-9) + 1e-25).all()
flat = U[:, 0]  # where (12.4.14) has equalities
torch.testing.assert_close(factor, 1 - 0.01 * (2 - 0.01 * B)
                           * (X @ flat).square().mean())
longest = X[X.square().sum(dim=1).argmax()]
moved = flat - 0.01 * longest * (longest @ flat)
torch.testing.assert_close(moved @ moved, 1 - 0.01 * (2 - 0.01 * B)
                           * (longest @ flat) ** 2)
if full_run:
    assert distance["fitted targets"][-1] < 1e-15
    late = distance["measured targets"][epochs // 2:].mean()
    assert abs(late / level - 1) < 0.2


def gradient_noise(w):
    """Trace of the covariance of an example's gradient at w (5,)."""
    each = (X @ w - y)[:, None] * X
    return (each - each.mean(dim=0)).square().sum(dim=1).mean()


if data.source == "real":
    assert 1.8 < gradient_noise(0 * best) / gradient_noise(best) < 2.4

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.5, 3))
t = torch.arange(epochs + 1)
for i, name in enumerate(distance):
    ax.plot(t, distance[name], "os"[i], color=f"C{i}", ms=4, label=name)
ax.plot(t, line, color="C1", lw=1, label="bound (12.4.14)")
ax.axhline(level, color="C0", lw=0.8, ls="--", label="floor (12.4.6)")
ax.set(yscale="log", xlabel="epoch",
       ylabel=r"mean of $\|\mathbf{x}-\mathbf{x}^*\|^2$")
ax.legend(fontsize=8)
d2l.describe(ax, """Squared distance to the minimizer against epochs. With
    fitted targets it falls along a straight line by many powers of ten,
    below the line of the bound; with the measured targets it stays at the
    predicted floor.""")

# %% [markdown]
# **Figure 12.4.6.** Single examples, constant rate $\eta=0.01$, with replacement: with targets that a linear model fits, SGD converges linearly; with the measured ones it stays at the floor.
#
# The formula (12.4.6), derived for noise that is the same everywhere, predicts the floor on these data within a fifth, if $\sigma^2$ is computed from the gradients at the minimum along each eigenvector of the Hessian.
# Real noise changes from place to place: at the start $\mathbf{w}=0$ its total variance is about twice that at the minimum.
# The floor disappears if every example can be fitted, which is all that differs between the two runs.
# Networks that fit their training data come close to this condition, which Ma, Bassily and Belkin (2018) proposed as a reason for the fast convergence of SGD in modern learning.

# %% [markdown]
# ## Finite samples: draw or shuffle?
#
# So far each step drew its example with replacement, as the proofs assume.
# After $n$ such draws an example is still unseen with probability $(1-\frac1n)^n\to e^{-1}$, about 37 %, and was seen exactly once with probability $(1-\frac1n)^{n-1}$, which has the same limit.
# In practice one shuffles and visits every example once per epoch: *random reshuffling*, the default of `DataLoader(shuffle=True)`.

# %%
# check 12.4-C5: the share of examples seen in n draws
def coverage(n, with_replacement, trials, generator):
    """Shares of n examples seen at all and seen once in n draws."""
    draws = (torch.randint(n, (trials, n), generator=generator)
             if with_replacement else
             torch.rand(trials, n, generator=generator).argsort(dim=1))
    times = torch.zeros(trials, n).scatter_add_(
        1, draws, torch.ones(trials, n))
    return (times > 0).double().mean(), (times == 1).double().mean()


for size, share in ((10, 0.65132), (1000, 0.63230), (10**6, 0.63212)):
    assert abs(1 - (1 - 1 / size) ** size - share) < 5e-6
rng = torch.Generator().manual_seed(0)
for size, trials in ((10, 40_000), (1000, 400)):
    seen, once = coverage(size, True, trials, rng)
    assert abs(seen - (1 - (1 - 1 / size) ** size)) < 3e-3
    assert abs(once - (1 - 1 / size) ** (size - 1)) < 4e-3
    assert coverage(size, False, trials, rng) == (1, 1)

# %% [markdown]
# Shuffling makes the examples of an epoch depend on each other.
# At a *fixed* point their deviations from the mean gradient would cancel exactly over an epoch, in any order; only the movement within the epoch, which is proportional to $\eta$, disturbs this.
# Does the end point improve?
# We compare the two at equal rates and equal numbers of steps, for five rates, after each of 40 epochs.
# The excess loss is averaged over the last 20 epochs and over the runs, in three groups of 20.

# %%
rates = [0.02, 0.01, 0.004, 0.002, 0.001]
final, first = {}, {}
for replace in (True, False):
    w = example_sgd(y, rates, passes, 3 * runs, replace, seed=5) - best
    loss = (w @ H * w).sum(dim=-1) / 2  # excess, (epochs + 1, rates, runs)
    final[replace] = loss[passes // 2 + 1:].reshape(
        -1, len(rates), 3, runs).mean(dim=(0, 3))  # (rates, groups)
    first[replace] = loss[1].mean(dim=1)
floor = torch.stack([(lam / 2 * predicted(eta)).sum() for eta in rates])

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.5, 3.2))
for i, replace in enumerate((True, False)):
    for k in range(3):
        ax.plot(rates, final[replace][:, k], "os"[i], color=f"C{i}", ms=4,
                label=["with replacement", "reshuffled"][i] if k == 0
                else None)
ax.plot(rates, floor, color="C0", lw=1, label="floor (12.4.6)")
corner = final[False][-1].mean() / rates[-1] ** 2
ax.plot(rates[2:], [corner * eta**2 for eta in rates[2:]], "C1:", lw=1,
        label=r"slope of $\eta^2$")
ax.set(xscale="log", yscale="log", xlabel=r"rate $\eta$",
       ylabel="excess loss after an epoch")
ax.legend(fontsize=8)
d2l.describe(ax, """Excess loss against the rate, both logarithmic. With
    replacement it follows the line of the floor, proportional to the rate.
    Reshuffled it lies slightly below at the two large rates and falls
    faster towards small ones, almost like the square of the rate.""")

# %% [markdown]
# **Figure 12.4.7.** Excess loss on the airfoil data at the ends of epochs 21 to 40, single examples; each point averages 20 runs.

# %%
ratio = final[False] / final[True]  # (rates, groups)
if full_run and data.source == "real":
    print("reshuffled / with replacement:", "; ".join(
        f"{eta}: {r.min():.2f} to {r.max():.2f}"
        for eta, r in zip(rates, ratio)))
    assert 0.8 < ratio[0].min() and ratio[0].max() < 1.05
    assert (ratio.mean(dim=1).diff() < 0).all() and ratio[-1].max() < 1 / 3
    assert abs(first[False][-1] / first[True][-1] - 1) < 0.05
    left = (1 - rates[-1] * lam) ** n * (U.T @ best)  # without noise
    assert 0.9 < (lam / 2 * left**2).sum() / first[True][-1] < 1.05
    start = {replace: example_sgd(y - X @ best, rates[-1:], 1, 3 * runs,
                                  replace, seed=5)[1, 0]
             for replace in (True, False)}  # errors, from the minimum
    near = {k: (e @ H * e).sum() for k, e in start.items()}
    assert near[False] < 0.4 * near[True]
    assert (final[True].mean(dim=1) / floor - 1).abs().max() < 0.15
    slope = (final[False][-2] / final[False][-1]).log() / math.log(2)
    assert (slope > 1.6).all() and (slope < 2.2).all()
assert (ratio[0] - ratio[-1] > 0.3).all() or passes < 20

# %% [markdown]
# There are two regimes.
# At the rate 0.02 shuffling lowers the excess by less than a fifth, even after 40 epochs.
# At 0.001 it leaves less than a third of it, and going from 0.002 to 0.001 divides it by more than three, where the floor is halved.
# After the *first* epoch at 0.001, the two still agree within 5 %: more than nine tenths of the excess is what the same steps without noise would have left.
# Started at the minimum instead, reshuffling leaves less than 0.4 of the excess after one epoch at this rate.
# So on these data the gain requires a small rate, and as many epochs as that rate needs to forget the start.
# Ying and others (2018) derived a floor of order $\eta^2$ instead of $\eta$ for reshuffling with constant rates and strongly convex losses; Mishchenko and others (2020) proved the gain under weaker conditions.
# Drawing with replacement follows the floor (12.4.6) within 15 % at all five rates.
#
# What we have treated as noise of one example becomes smaller in a batch; that is the subject of [Section 12.5](05-minibatch-sgd.ipynb).

# %% [markdown]
# ## Summary
#
# - A random example gives an unbiased gradient at a cost that does not depend on the size of the data set.
# - On a quadratic with constant noise, at a small constant rate, the expected loss stops at a floor near $\eta\sigma^2/4$ per coordinate; more steps do not lower it, a smaller rate does, and it disappears where one point fits every example.
# - A rate that falls too fast for its number of steps stops on the way; the rate $a/t$ is fast when $a$ fits the curvature and slow when it is too small.
# - For convex losses with bounded gradients, at the rate $r/L\sqrt T$, the *average* of the points has an expected excess risk of at most $rL/\sqrt T$; the last point of a constant rate was worse on our problem, and a rate falling linearly to 0 repaired much of it.
# - On the airfoil data reshuffling lowered the floor at small rates, once the start was forgotten; it gained little at a large rate.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.4-1
#
# Which rate has the stationary variance 0.01 for $\lambda=2$ and $\sigma=1$?
# Show also that with $\eta_t=\frac1{\lambda(t+1)}$, $t=0,1,\dots$, SGD on $\frac\lambda2(x-\xi)^2$ with a new $\xi$ in each step computes the mean of all $\xi$ so far.

# %% [markdown]
# #### Solution 12.4-1

# %% [markdown]
# Solve (12.4.6) for $\eta$: $v\lambda(2-\eta\lambda)=\eta\sigma^2$ gives $\eta=\frac{2v\lambda}{\sigma^2+v\lambda^2}=\frac{0.04}{1.04}$.
#
# The step is $x_{t+1}=x_t-\frac1{t+1}(x_t-\xi_t)=\frac t{t+1}x_t+\frac1{t+1}\xi_t$: the mean of $t$ numbers becomes the mean of $t+1$, and the start $x_0$ drops out at $t=0$.
# Its variance is that of a mean, $\operatorname{Var}(\xi)/T$.

# %%
def rate_for(v, curvature, sigma):
    """The rate whose stationary variance is v."""
    return 2 * v * curvature / (sigma**2 + v * curvature**2)


eta = rate_for(0.01, 2.0, 1.0)
print(f"rate {eta:.5f}")
assert abs(eta - 0.03846) < 5e-6
for v, curvature, sigma in ((0.01, 2.0, 1.0), (0.3, 5.0, 2.0)):
    assert abs(stationary_variance(rate_for(v, curvature, sigma), curvature,
                                   sigma) - v) < 1e-12
tail = simulated(lambda t: eta, 400, 200)[100:, 0].mean()
assert abs(tail / 0.01 - 1) < 0.1

xi = torch.randn(50, generator=torch.Generator().manual_seed(1),
                 dtype=torch.float64)
x = torch.tensor(7.0, dtype=torch.float64)
for t in range(50):
    x = x - 1 / (3 * (t + 1)) * 3 * (x - xi[t])
torch.testing.assert_close(x, xi.mean())

# %% [markdown]
# ### Exercise 12.4-2
#
# Put $\eta_t=c/\sqrt t$, $t=1,\dots,T$, into (12.4.12).
# How does the bound grow in comparison with $1/\sqrt T$?
# What is gained over the constant rate?

# %% [markdown]
# #### Solution 12.4-2

# %% [markdown]
# With $\sum_t\frac1t\approx\log T+0.577$ and $\sum_t\frac1{\sqrt t}\approx2\sqrt T$ the bound is about $\frac{r^2+L^2c^2(\log T+0.577)}{4c\sqrt T}$, thus $O(\log T/\sqrt T)$: a logarithm more than (12.4.13).
# In return, $T$ need not be known in advance.
# On the absolute value with normal $\xi$ the average stays below the bound, too.

# %%
def root_bound(T, r=1.0, L=1.0, c=1.0):
    """The bound (12.4.12) for the rates c / sqrt(t), t = 1..T."""
    t = torch.arange(1, T + 1, dtype=torch.float64)
    return average_bound(c * t.rsqrt(), r, L).item()


for T in (10**3, 10**4, 10**6):
    compared = root_bound(T) * math.sqrt(T) / math.log(T)
    about = (1 + math.log(T) + 0.577) / (4 * math.log(T))
    print(f"T = {T:.0e}: bound = {compared:.3f} log T / sqrt T")
    assert abs(compared / about - 1) < 0.03
    assert root_bound(T) > 2 / math.sqrt(T)  # the constant rate has 1
assert abs(root_bound(1, r=3.0, L=2.0, c=0.5) - 10) < 1e-12
x0 = torch.full((200,), 3.0, dtype=torch.float64)
mean, _ = sgd_average(sign_grad(0), x0, lambda t: 3 / math.sqrt(t + 1), 300)
assert 0 < excess(mean).mean() < root_bound(300, r=3.0, c=3.0)

# %% [markdown]
# ### Exercise 12.4-3
#
# Noise can carry SGD from one local minimum into another.
# How many local minima does $x^2(1+\sin x)$ have inside the interval from $-50$ to 50, and what are their values?
# Does counting changes of sign of the derivative on a grid find them all?

# %% [markdown]
# #### Solution 12.4-3

# %% [markdown]
# The function is never negative, so each of its zeros is a minimum: $x=0$ and the 16 points of the interval with $\sin x=-1$, $x=-\frac\pi2+2\pi k$ for $k=-7,\dots,8$.
# There is no other.
# With $1+\sin x=\cos^2x/(1-\sin x)$ the derivative $x(2+2\sin x+x\cos x)$ equals $x\cos x\left(\frac{2\cos x}{1-\sin x}+x\right)$, wherever $\sin x\ne1$, and the zeros of the last factor lie one between any two neighbouring minima: the maxima.
# Thus 17 minima, all of value 0.
# (On the closed interval, the end $-50$ would be another one, as the function rises from there; its value is above 3000.)
# On a grid that contains 0, the derivative there is exactly 0, it does not change sign *between* two grid points, and the count of negative products misses this minimum.

# %%
x = torch.arange(-50_000, 50_001, dtype=torch.float64) / 1000
f = x**2 * (1 + x.sin())
low = (f[1:-1] < f[:-2]) & (f[1:-1] < f[2:])
slope = x * (2 + 2 * x.sin() + x * x.cos())
rises = (slope[:-1] < 0) & (slope[1:] > 0)
print(f"{low.sum()} minima, {rises.sum()} changes of sign")
assert low.sum() == 17 and rises.sum() == 16
assert slope[0] > 0 and f[0] > 3000 and slope[-1] > 0  # the two ends
assert f[1:-1][low].max() < 1e-3 and (f >= 0).all()
k = torch.arange(-7, 9)
zeros = torch.cat([-math.pi / 2 + 2 * math.pi * k, torch.zeros(1)])
torch.testing.assert_close(zeros.sort().values.double(), x[1:-1][low],
                           rtol=0, atol=1e-3)
assert zeros.abs().max() < 50 < zeros.max() + 2 * math.pi
auto = torch.func.vmap(torch.func.grad(lambda x: x**2 * (1 + x.sin())))(x)
torch.testing.assert_close(slope, auto)

# %% [markdown]
# ### Exercise 12.4-4
#
# *Importance sampling* draws the example $i$ with a probability $p_i$ of its own and divides its gradient by $np_i$.
# Show that the result is unbiased, and that $p_i\propto\|\nabla f_i\|$ gives the smallest variance.
# Measure both on the airfoil data at $\mathbf{w}=0$.
# Why is this not how networks are trained?

# %% [markdown]
# #### Solution 12.4-4

# %% [markdown]
# Unbiased: $\sum_ip_i\frac{\nabla f_i}{np_i}=\nabla f$, for all $p_i>0$.
# The mean is the same for every $p$, so the variance is smallest where $E[\|\cdot\|^2]=\frac1{n^2}\sum_i\|\nabla f_i\|^2/p_i$ is; by the Cauchy-Schwarz inequality this is at least $\left(\frac1n\sum_i\|\nabla f_i\|\right)^2$, with equality for $p_i\propto\|\nabla f_i\|$.
# But these probabilities change with $\mathbf{w}$ and need all gradients at every step, which is the cost that sampling was meant to avoid; practical variants use a bound on the curvature of each $f_i$ that can be computed once, here $\|\mathbf{x}_i\|^2$ (Needell, Srebro and Ward, 2014).

# %%
at_zero = -y[:, None] * X  # gradients of the examples at w = 0, (n, 5)
mean, norms = at_zero.mean(dim=0), at_zero.norm(dim=1)


def variance(p):
    """Trace of the covariance of the reweighted gradient, drawn with p."""
    scaled = at_zero / (n * p[:, None])
    torch.testing.assert_close(p @ scaled, mean)  # unbiased
    return p @ scaled.square().sum(dim=1) - mean.square().sum()


powers = {q: (norms**q / (norms**q).sum()) for q in (0.0, 0.5, 1.0, 1.5)}
spread = {q: variance(p).item() for q, p in powers.items()}
print(f"uniform {spread[0.0]:.3f}, by gradient norm {spread[1.0]:.3f}")
assert min(spread, key=spread.get) == 1.0
assert abs(spread[1.0] - (norms.mean()**2 - mean @ mean)) < 1e-12
rng = torch.Generator().manual_seed(0)
for q, p in powers.items():
    if q <= 1:
        i = torch.multinomial(p, 40_000, replacement=True, generator=rng)
        drawn = at_zero[i] / (n * p[i, None])
        assert abs(drawn.var(dim=0).sum() / spread[q] - 1) < 0.1
        assert (drawn.mean(dim=0) - mean).norm() < 0.04
assert abs(gradient_noise(0 * best) - spread[0.0]) < 1e-9
full = torch.func.grad(lambda w: ((X @ w - y) ** 2).mean() / 2)(0 * best)
torch.testing.assert_close(mean, full)

# %% [markdown]
# ## Sources
#
# - H. Robbins and S. Monro, *A stochastic approximation method*, Annals of Mathematical Statistics 22 (1951), [doi:10.1214/aoms/1177729586](https://doi.org/10.1214/aoms/1177729586).
# - B. T. Polyak and A. B. Juditsky, *Acceleration of stochastic approximation by averaging*, SIAM Journal on Control and Optimization 30 (1992): averaging, proposed independently by Polyak and by Ruppert.
# - A. Nemirovski, A. Juditsky, G. Lan and A. Shapiro, *Robust stochastic approximation approach to stochastic programming*, SIAM Journal on Optimization 19 (2009), [doi:10.1137/070704277](https://doi.org/10.1137/070704277).
# - L. Bottou, F. E. Curtis and J. Nocedal, *Optimization methods for large-scale machine learning*, SIAM Review 60 (2018), [doi:10.1137/16M1080173](https://doi.org/10.1137/16M1080173): a survey of the theory.
# - S. Lacoste-Julien, M. Schmidt and F. Bach, *A simpler approach to obtaining an O(1/t) convergence rate for the projected stochastic subgradient method* (2012), [arXiv:1212.2002](https://arxiv.org/abs/1212.2002): the strongly convex case, with a weighted average.
# - G. Garrigos and R. M. Gower, *Handbook of convergence theorems for (stochastic) gradient methods* (2023), [arXiv:2301.11235](https://arxiv.org/abs/2301.11235): short proofs for most rows of the table.
# - S. Ghadimi and G. Lan, *Stochastic first- and zeroth-order methods for nonconvex stochastic programming*, SIAM Journal on Optimization 23 (2013), [arXiv:1309.5549](https://arxiv.org/abs/1309.5549): the case that is not convex.
# - S. Ma, R. Bassily and M. Belkin, *The power of interpolation: understanding the effectiveness of SGD in modern over-parametrized learning*, ICML 2018, [arXiv:1712.06559](https://arxiv.org/abs/1712.06559).
# - M. Zamani and F. Glineur, *Exact convergence rate of the last iterate in subgradient methods* (2023), [arXiv:2307.11134](https://arxiv.org/abs/2307.11134).
# - A. Defazio, A. Cutkosky, H. Mehta and K. Mishchenko, *Optimal linear decay learning rate schedules and further refinements* (2023), [arXiv:2310.07831](https://arxiv.org/abs/2310.07831).
# - F. Schaipp et al., *The surprising agreement between convex optimization theory and learning-rate scheduling for large model training*, ICML 2025, [arXiv:2501.18965](https://arxiv.org/abs/2501.18965).
# - A. Defazio et al., *The road less scheduled*, NeurIPS 2024, [arXiv:2405.15682](https://arxiv.org/abs/2405.15682).
# - B. Ying, K. Yuan, S. Vlaski and A. H. Sayed, *Stochastic learning under random reshuffling with constant step-sizes* (2018), [arXiv:1803.07964](https://arxiv.org/abs/1803.07964).
# - K. Mishchenko, A. Khaled and P. Richtárik, *Random reshuffling: simple analysis with vast improvements*, NeurIPS 2020, [arXiv:2006.05988](https://arxiv.org/abs/2006.05988).
# - D. Needell, N. Srebro and R. Ward, *Stochastic gradient descent, weighted sampling, and the randomized Kaczmarz algorithm* (2014), [arXiv:1310.5715](https://arxiv.org/abs/1310.5715).
