# ---
# jupyter:
#   d2l:
#     profiles:
#       gpu:
#         edge_steps: 3000
#       smoke:
#         edge_steps: 60
#     rehearsal:
#       edge_steps: 0.05
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
# # 12.3 Gradient descent
#
# Every optimizer of this chapter descends from one line: step against the gradient.
# How long may the step be, how fast does the loss fall, and what does curvature have to do with it?
# The answers are theorems with conditions, so this section derives each, measures it against its prediction, and then trains a network that breaks the conditions.
#
# **You will**
#
# - derive gradient descent, and predict from the rate and the curvature whether it converges and how fast;
# - prove three rates of convergence, one condition at a time, and see what each condition buys;
# - watch full-batch training of a network settle at the edge of stability;
# - use curvature: Newton's method, its failures, preconditioning and line search.
#
# **Cost**: about half a minute on a CPU, no use for a GPU, no download.

# %%
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.optimization import hessian_eigs

d2l.use_style()

# %% tags=["parameters"]
edge_steps = 3000  # of a network at the edge of stability
num_seeds = 3

# %% [markdown]
# ## One dimension
#
# Let $f:\mathbb{R}\to\mathbb{R}$ be twice differentiable.
# Taylor's formula for a small move $-\eta f'(x)$ says
#
# $$f(x-\eta f'(x))=f(x)-\eta f'(x)^2+O\left(\eta^2f'(x)^2\right), \tag{12.3.1}$$
#
# where $\eta>0$ is the *learning rate* or step size.
# The middle term is negative unless the slope is 0, and it wins if $\eta$ is small enough: the move goes downhill.
# Gradient descent repeats it,
#
# $$x_{t+1}=x_t-\eta f'(x_t), \tag{12.3.2}$$
#
# from a start $x_0$.
# For $f(x)=x^2$ the slope is $2x$, so a step multiplies $x$ by $1-2\eta$ and $x_t=(1-2\eta)^tx_0$.
# With $\eta=0.2$ and $x_0=10$ the first steps lead to 6, 3.6 and 2.16.

# %% tags=["export"]
def gd(grad, x0, eta, steps):
    """The path (steps + 1, ...) of x <- x - eta grad(x) from x0.

    Computed in double precision; `grad` maps a point to its gradient.
    """
    path = [torch.as_tensor(x0, dtype=torch.float64)]
    for _ in range(steps):
        path.append(path[-1] - eta * grad(path[-1]))
    return torch.stack(path)

# %%
# check 12.3-C1: ten steps on x^2 from 10 are (1 - 2 eta)^10
paths = {eta: gd(lambda x: 2 * x, 10.0, eta, 10) for eta in (0.05, 0.2, 1.1)}
expected = {0.2: 0.0604662, 0.05: 3.4867844, 1.1: 61.9173642}
for eta, path in paths.items():
    powers = 10 * (1 - 2 * eta) ** torch.arange(11, dtype=torch.float64)
    torch.testing.assert_close(path, powers)
    assert abs(path[-1].item() - expected[eta]) < 5e-8

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.4), layout="constrained")
for ax, (eta, path) in zip(axes, paths.items()):
    reach = 1.1 * path.abs().max().item()
    x = torch.linspace(-reach, reach, 101)
    ax.plot(x, x**2, color="#888888", lw=0.8)
    ax.plot(path, path**2, "o-", ms=3)
    ax.set(title=rf"$\eta={eta}$", xlabel="$x$")
axes[0].set_ylabel("$f(x)=x^2$")
d2l.describe(axes, """Three parabolas with the points of ten steps from 10.
    With rate 0.05 they creep down one side, with 0.2 they reach the bottom,
    with 1.1 they jump from side to side and climb.""")

# %% [markdown]
# **Figure 12.3.1.** Ten steps from $x_0=10$: too small a rate, a good one, and one above 1, with which each step lands higher on the other side.

# %% [markdown]
# When should one stop?
# Common rules are a small gradient, a small decrease of $f$ over the last steps, and a budget.
# The first two show that the method has become slow, not that it is near a minimum: a flat region fulfils both.
#
# Without convexity the rate also decides *where* the path ends.
# The function $x\cos(0.15\pi x)$ has a minimum at 7.27 and a poorer one at $-1.83$.

# %%
def wavy(x):
    """A function with many minima; works for numbers and tensors."""
    return x * torch.cos(0.15 * torch.pi * x)


slope = torch.func.grad(wavy)
curvature = torch.func.grad(slope)
wavy_paths = {eta: gd(slope, 10.0, eta, 300) for eta in (0.5, 1.0, 2.0)}
for eta, path in wavy_paths.items():
    end = path[-1]
    print(f"rate {eta}: ends at {end:.3f}, value {wavy(end):.2f}, "
          f"rate times curvature {eta * curvature(end):.2f}")

# %%
best = wavy_paths[0.5][-1]
for eta, place, value in ((0.5, 7.2694, -6.978), (1.0, 7.2694, -6.978),
                          (2.0, -1.8257, -1.191)):
    end = wavy_paths[eta][-1]
    assert abs(slope(end)) < 1e-3  # it has arrived
    assert abs(end - place) < 1e-3 and abs(wavy(end) - value) < 1e-3
assert 2 * curvature(best) > 2 > 1 * curvature(best)
kicked = gd(slope, best + 1e-6, 2.0, 300)
assert (kicked - best).abs().max() > 1  # rate 2 cannot stay there

# %% [markdown]
# From the same start, rates 0.5 and 1 find the minimum at 7.27, and rate 2 ends at the poor one.
# It could not have stayed at 7.27: there $\eta f''>2$, and even a start $10^{-6}$ away is thrown out.
# The number 2 will return.

# %% [markdown]
# ## Many dimensions
#
# For $f:\mathbb{R}^d\to\mathbb{R}$ the slope becomes the gradient $\nabla f(\mathbf{x})\in\mathbb{R}^d$.
# The slope in the direction of a unit vector $\mathbf{u}$ is $\mathbf{u}^\top\nabla f(\mathbf{x})\ge-\|\nabla f(\mathbf{x})\|$ by the Cauchy-Schwarz inequality, with equality for $\mathbf{u}=-\nabla f/\|\nabla f\|$: the direction of *steepest descent*.
# The iteration is
#
# $$\mathbf{x}_{t+1}=\mathbf{x}_t-\eta\,\nabla f(\mathbf{x}_t). \tag{12.3.3}$$
#
# Cauchy proposed it in 1847 for the orbits of heavenly bodies.
# Two helpers accompany us through the chapter: one moves a point by any optimizer, the other draws paths over contours.

# %% tags=["export"]
def train_2d(step, x0=(-5.0, -2.0), steps=20):
    """The path (steps + 1, 2) of a point x (2,) that `step(x)` moves.

    `step` changes its argument in place.
    """
    x = torch.tensor(x0, dtype=torch.float64)
    path = [x.clone()]
    for _ in range(steps):
        step(x)
        path.append(x.clone())
    return torch.stack(path)


def show_trace_2d(f, paths, ax=None, x1=(-5.5, 1.0), x2=(-3.0, 1.0)):
    """Contours of f and paths on them; `paths` maps a label to (n, 2).

    Draws on `ax`, or on a new one, and returns it.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4, 3))
    grid = torch.meshgrid(torch.linspace(*x1, 101), torch.linspace(*x2, 101),
                          indexing="xy")
    ax.contour(*grid, torch.func.vmap(torch.func.vmap(f))(
        torch.stack(grid, dim=-1)), colors="#888888", linewidths=0.7)
    for label, path in paths.items():
        ax.plot(*path.T, "o-", ms=3, label=label)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=x1, ylim=x2)
    return ax

# %%
# check 12.3-C2: 20 steps on x1^2 + 2 x2^2 with rate 0.1
def canyon(x):
    """x1^2 + 2 x2^2 for x (2,): a valley along the first axis."""
    return x[0] ** 2 + 2 * x[1] ** 2


def gd_step(eta, f=canyon):
    """A step of gradient descent on f for `train_2d`."""
    def step(x):
        x -= eta * torch.func.grad(f)(x)
    return step


path = train_2d(gd_step(0.1))
end = torch.tensor([-0.0576461, -7.3123e-5], dtype=torch.float64)
torch.testing.assert_close(path[-1], end, rtol=0, atol=1e-7)
torch.testing.assert_close(path, gd(torch.func.grad(canyon), path[0], 0.1, 20))

# %% [markdown]
# PyTorch's `SGD`, given the exact gradient, makes the same steps:

# %%
x = path[0].clone().requires_grad_()
optimizer = torch.optim.SGD([x], lr=0.1)
for point in path[1:]:
    optimizer.zero_grad()
    canyon(x).backward()
    optimizer.step()
    torch.testing.assert_close(x.detach(), point, rtol=1e-13, atol=0)

# %% tags=["hide-input"]
# check: every point of the path is kept; the drawing shows all of it
assert path.shape == (21, 2) and path[0].tolist() == [-5, -2]
assert train_2d(gd_step(0.1), (3.0, 4.0), 2)[:, 0].tolist() == [
    3, 3 - 0.1 * 6, 2.4 - 0.1 * 4.8]
ax = show_trace_2d(canyon, {"a": path, "b": path[:3]})
first, second = ax.lines
assert [line.get_label() for line in ax.lines] == ["a", "b"]
assert first.get_xdata().tolist() == path[:, 0].tolist()
assert second.get_ydata().tolist() == path[:3, 1].tolist()
assert ax.get_xlim() == (-5.5, 1) and ax.get_ylim() == (-3, 1)
rings = [p.vertices for p in ax.collections[0].get_paths()
         if len(p.vertices)]
for level, ring in zip(ax.collections[0].levels, ax.collections[0].get_paths(),
                       strict=True):
    x = torch.from_numpy(ring.vertices)  # f is constant on a contour
    if len(x) and level > 1:
        assert ((x[:, 0]**2 + 2 * x[:, 1]**2) / level - 1).abs().max() < 0.02
assert len(rings) > 3
assert show_trace_2d(canyon, {}, ax) is ax
plt.close(ax.figure)
tried = {rate: train_2d(gd_step(rate)) for rate in (0.25, 0.45, 0.52)}
assert tried[0.25][1, 1] == 0
assert (tried[0.45][1:, 1] * tried[0.45][:-1, 1] < 0).all()
assert tried[0.52][-1, 1].abs() > 8 and tried[0.52][-1, 0].abs() < 1e-9

# %% tags=["hide-input"]
def draw(fig, rate, steps):
    ax = show_trace_2d(canyon, {"": train_2d(gd_step(rate), steps=int(steps))},
                       fig.subplots(), (-6, 6), (-4.5, 4.5))
    ax.set_title(rf"$\eta={rate}$, steps: {int(steps)}", fontsize=9)


d2l.sliders(draw, """The elliptic contours of a valley with the path of
    gradient descent from the lower left towards its centre.""",
            figsize=(4.2, 2.6), rate=[0.05, 0.1, 0.25, 0.45, 0.52],
            steps=[1, 3, 8, 20])

# %% [markdown]
# **Figure 12.3.2.** Gradient descent on $x_1^2+2x_2^2$.
# At 0.25 the steep coordinate is right after one step, at 0.45 it crosses the valley in each step, and at 0.52 it diverges while the flat coordinate still converges.

# %% [markdown]
# ## How fast, one condition at a time
#
# **Smooth.** Suppose the curvature is bounded: $f$ is *$L$-smooth* if no eigenvalue of its Hessian exceeds $L$ in magnitude ([Section 12.2](02-convexity.ipynb)).
# Then a parabola of curvature $L$ that touches $f$ at $\mathbf{x}$ lies above $f$ everywhere,
#
# $$f(\mathbf{y})\le f(\mathbf{x})+\nabla f(\mathbf{x})^\top(\mathbf{y}-\mathbf{x})+\tfrac L2\|\mathbf{y}-\mathbf{x}\|^2, \tag{12.3.4}$$
#
# and its lowest point is the step of gradient descent with $\eta=1/L$.
#
# ![A function and two parabolas that touch it at the same point. The steeper one, of curvature L, lies above the function; its lowest point is the step of gradient descent. The flatter one has the curvature of the function; its lowest point, the step of Newton, lies beyond the minimum.](img/descent-parabolas.svg)
#
# **Figure 12.3.3.** One step on $f(x)=\sqrt{1+x^2}$, with $L=1$, from 0.8.
# Open circles are the lowest points of the parabolas, filled ones the values that $f$ really has there.
#
# Put $\mathbf{y}=\mathbf{x}_{t+1}$ into (12.3.4).
# The decrease is at least $\eta(1-\frac{L\eta}2)\|\nabla f\|^2$, so for $\eta\le1/L$
#
# $$f(\mathbf{x}_{t+1})\le f(\mathbf{x}_t)-\tfrac\eta2\|\nabla f(\mathbf{x}_t)\|^2. \tag{12.3.5}$$
#
# This is the *descent lemma*.
# Summed over $T$ steps the left sides telescope, and as $f$ never falls below its infimum $f^*$,
#
# $$\min_{t<T}\|\nabla f(\mathbf{x}_t)\|^2\le\frac{2(f(\mathbf{x}_0)-f^*)}{\eta T}. \tag{12.3.6}$$
#
# No convexity was used, and nothing is said about minima: some gradient on the way is small.
#
# **Convex as well.** Let $\mathbf{x}^*$ be a minimizer.
# Convexity gives $f(\mathbf{x}_t)\le f^*+\nabla f(\mathbf{x}_t)^\top(\mathbf{x}_t-\mathbf{x}^*)$.
# Insert this into (12.3.5) and complete the square:
#
# $$f(\mathbf{x}_{t+1})-f^*\le\frac1{2\eta}\left(\|\mathbf{x}_t-\mathbf{x}^*\|^2-\|\mathbf{x}_{t+1}-\mathbf{x}^*\|^2\right). \tag{12.3.7}$$
#
# The sum telescopes again, and since $f$ falls in each step, the last gap is at most the average one:
#
# $$f(\mathbf{x}_T)-f^*\le\frac{\|\mathbf{x}_0-\mathbf{x}^*\|^2}{2\eta T}. \tag{12.3.8}$$
#
# **Strongly convex as well.** If all eigenvalues of the Hessian are at least $\mu>0$, the parabola of curvature $\mu$ that touches $f$ at $\mathbf{x}$ lies *below* it.
# Its lowest value is $f(\mathbf{x})-\frac1{2\mu}\|\nabla f(\mathbf{x})\|^2$, hence
#
# $$\tfrac12\|\nabla f(\mathbf{x})\|^2\ge\mu\,(f(\mathbf{x})-f^*), \tag{12.3.9}$$
#
# and with (12.3.5)
#
# $$f(\mathbf{x}_T)-f^*\le(1-\eta\mu)^T(f(\mathbf{x}_0)-f^*). \tag{12.3.10}$$
#
# An error that shrinks at least by a constant factor per step is called *linear* convergence: on a logarithmic axis it is a line.
# The proof used only (12.3.9), the *Polyak-Łojasiewicz condition*, which needs no convexity: $x^2+3\sin^2x$ fulfils it.
#
# All three rates are for $\eta\le1/L$, and conditions are made to be tested.
# Our test problem for the convex rate is logistic regression on 200 examples, whose loss has $L=\lambda_{\max}(\mathbf{A}^\top\mathbf{A})/4n$ for a design matrix $\mathbf{A}\in\mathbb{R}^{n\times d}$.

# %%
def falls(f, path, eta):
    """Whether each step lowers f as the descent lemma says."""
    grads = torch.stack([torch.func.grad(f)(x) for x in path[:-1]])
    promised = eta / 2 * grads.square().reshape(len(grads), -1).sum(dim=1)
    values = torch.stack([f(x) for x in path])
    return bool((values[1:] <= values[:-1] - promised + 1e-12).all())


def gaps_and_bound(f, path, best, eta):
    """f(x_T) - f(best) and the bound of convex f, T = 1, 2, ..."""
    gaps = torch.stack([f(x) - f(best) for x in path[1:]])
    steps = torch.arange(1, len(path), dtype=torch.float64)
    return gaps, (path[0] - best).square().sum() / (2 * eta * steps)

# %%
rng = torch.Generator().manual_seed(123)
A = torch.randn(200, 3, generator=rng, dtype=torch.float64)
A *= torch.tensor([1.0, 0.3, 0.1])  # features on different scales
noise = torch.randn(200, generator=rng, dtype=torch.float64)
sign = torch.sign(A.sum(dim=1) + noise)  # labels -1 and 1


def logistic(w):
    """Mean loss of logistic regression with weights w (3,)."""
    return F.softplus(-sign * (A @ w)).mean()


L_logistic = torch.linalg.eigvalsh(A.T @ A)[-1] / (4 * len(A))
steepest = hessian_eigs(logistic, torch.zeros(3, dtype=torch.float64))[-1]
torch.testing.assert_close(steepest, L_logistic)  # reached at w = 0

# %% [markdown]
# The minimizer of the loss comes from the method at the end of this section; here it serves as a yardstick.

# %% tags=["hide-input"]
w_best = torch.zeros(3, dtype=torch.float64)
for _ in range(10):
    w_best -= torch.linalg.solve(torch.func.hessian(logistic)(w_best),
                                 torch.func.grad(logistic)(w_best))
assert torch.func.grad(logistic)(w_best).norm() < 1e-14

# %%
# check 12.3-C7: both inequalities at every step, and where they fail
def quadratic(x):
    """Curvatures mu = 0.2 and L = 4, minimum 0 at the origin."""
    return 0.1 * x[0] ** 2 + 2 * x[1] ** 2


origin = torch.zeros(2, dtype=torch.float64)
eta = 1 / L_logistic
w_path = gd(torch.func.grad(logistic), torch.zeros(3), eta, 1000)
gaps, bound = gaps_and_bound(logistic, w_path, w_best, eta)
assert falls(logistic, w_path, eta) and (gaps <= bound).all()
for rate, holds in ((1 / 4, True), (3 / 4, False)):  # 1 / L and 3 / L
    x_path = gd(torch.func.grad(quadratic), (1.0, 1.0), rate, 20)
    x_gaps, x_bound = gaps_and_bound(quadratic, x_path, origin, rate)
    assert falls(quadratic, x_path, rate) == holds
    assert (x_gaps <= x_bound).all() == holds
    assert abs(x_bound[0] * rate - 1) < 1e-12  # R^2 = 2, T = 1
    assert abs(x_bound[-1] * 20 * rate - 1) < 1e-12
    assert x_gaps[-1] == quadratic(x_path[-1]) != 0
x_path = gd(torch.func.grad(quadratic), (1.0, 1.0), 1.2 / 4, 20)
assert not falls(quadratic, x_path, 1.2 / 4)  # 1 / L is the limit

# %%
# check 12.3-C7, without convexity: from 10 the path ends in the wrong basin
global_best = gd(slope, 20.0, 0.1, 200)[-1]  # lowest of [0, 25]
x_path = gd(slope, 10.0, 0.1, 200)
x_gaps, x_bound = gaps_and_bound(wavy, x_path, global_best, 0.1)
assert falls(wavy, x_path, 0.1) and x_gaps[0] < x_bound[0]
assert x_gaps[-1] > 5 * x_bound[-1]
gradients = torch.stack([slope(x) for x in x_path[:-1]]).square()
limit = 2 * (wavy(x_path[0]) - wavy(best)) / 0.1
count = torch.arange(1, 201)
assert (gradients.cummin(dim=0).values <= limit / count).all()

# %% tags=["hide-input"]
# check: the Polyak-Lojasiewicz condition and its rate without convexity
def ripple(x):
    return x**2 + 3 * torch.sin(x) ** 2


x = torch.linspace(-4, 4, 801, dtype=torch.float64)
x = x[x.abs() > 1e-9]
ripple_slope = torch.func.grad(ripple)
bend = torch.func.vmap(torch.func.grad(ripple_slope))(x)
ratio = torch.func.vmap(ripple_slope)(x).square() / (2 * ripple(x))
assert bend.min() < 0 and bend.max() < 8  # not convex, and 8-smooth
mu = ratio.min()
assert 0.15 < mu < 0.2
x_path = gd(ripple_slope, 3.5, 1 / 8, 10)
assert (ripple(x_path) <= ripple(x_path[0]) * (1 - mu / 8) ** torch.arange(
    11)).all()

# %% [markdown]
# For $\eta=1/L$ both inequalities hold at each of the 1000 steps.
# With $\eta=3/L$ a quadratic breaks both, and on the wavy function the bound (12.3.8) fails: the descent lemma still holds there, but the path ends in a basin that is not the lowest.
#
# Is $1/T$ the truth or only a bound?
# For a fixed number $T$ of steps the worst function is explicit (Drori and Teboulle): a parabola with curvature $L$ near 0 that goes over into straight arms, so flat that $T$ steps do not get down them.
# With $R=\|\mathbf{x}_0-\mathbf{x}^*\|$ and the kink at $R/(2T+1)$ the gap after $T$ steps is exactly $LR^2/(4T+2)$.

# %%
def worst(T):
    """The gap after T steps on the worst function, with L = R = 1."""
    kink = 1 / (2 * T + 1)

    def huber(x):
        return F.huber_loss(x, torch.zeros_like(x), delta=kink)

    return huber(gd(torch.func.grad(huber), 1.0, 1.0, T)[-1]).item()


Ts = [1, 3, 10, 30, 100, 300]
for T in Ts:
    assert abs(worst(T) * (4 * T + 2) - 1) < 1e-9

# %% tags=["hide-input"]
T = torch.arange(1, 1001)
unit = L_logistic * w_best.square().sum()
ax = d2l.plot([T, T, Ts], [1 / (2 * T), gaps / unit, [worst(t) for t in Ts]],
              ["bound (12.3.8)", "logistic regression",
               "the worst function for each $T$"], fmts=["-", "--", "o"],
              xlabel="steps $T$", ylabel="$(f(x_T)-f^*)\\,/\\,LR^2$",
              xscale="log", yscale="log")
d2l.describe(ax, """Gap to the minimum against steps, both logarithmic. The
    bound falls with slope -1, the worst functions lie at half of it, the
    curve of logistic regression lies far below and bends down at the end.""")

# %% [markdown]
# **Figure 12.3.4.** The convex rate, all with $\eta=1/L$ and in units of $LR^2$.
# The worst functions approach half the bound, so no better power of $T$ holds for all $L$-smooth convex functions with this constant rate.
# This logistic regression lies far below, and towards the end it converges linearly, like any function with a positive curvature at its minimum.

# %%
drop = (gaps[-1] / gaps[-101]).item() ** 0.01
flattest = hessian_eigs(logistic, w_best)[0]
predicted = (1 - eta * flattest).item() ** 2
print(f"factor per step: measured {drop:.5f}, predicted {predicted:.5f}")
assert abs(drop - predicted) < 0.1 * (1 - predicted)
assert 20 * gaps[0] < bound[0]

# %% [markdown]
# ### Quadratics: the condition number
#
# For a quadratic $\frac12\mathbf{x}^\top\mathbf{H}\mathbf{x}$ with $\mathbf{H}\in\mathbb{R}^{d\times d}$ symmetric and positive definite there is nothing to bound.
# Along each eigenvector with eigenvalue $\lambda$ a step multiplies the error by $1-\eta\lambda$.
# The slowest direction decides:
#
# $$\|\mathbf{x}_T-\mathbf{x}^*\|\le\rho^T\|\mathbf{x}_0-\mathbf{x}^*\|,\qquad\rho=\max(|1-\eta\mu|,|1-\eta L|), \tag{12.3.11}$$
#
# with $\mu$ and $L$ the smallest and largest eigenvalue.
# The two terms are equal at the best rate $\eta=2/(L+\mu)$, where $\rho=\frac{\kappa-1}{\kappa+1}$ with the *condition number* $\kappa=L/\mu$.
# Above $\eta=2/L$ the top direction grows, unless the start has no component in it.

# %%
# check 12.3-C5: curvatures 0.2 and 4, three factors and a divergence
rates = [1 / 4, 2 / 4.2, 0.49, 0.51]
errors, t = {}, torch.arange(61, dtype=torch.float64)
for rate, factor in zip(rates, [0.95, 19 / 21, 0.96, 1.04]):
    path = gd(torch.func.grad(quadratic), (1.0, 1.0), rate, 60)
    errors[rate] = path.norm(dim=1)
    assert abs(max(abs(1 - rate * 0.2), abs(1 - rate * 4)) - factor) < 1e-12
    assert (errors[rate] <= errors[rate][0]
            * factor ** t * (1 + 1e-12)).all()
    late = errors[rate][-1] / errors[rate][-2]
    assert abs(late - factor) < 5e-3
assert errors[0.51][-1] > 10 > 0.1 > errors[0.49][-1]
heights = torch.func.vmap(quadratic)(
    gd(torch.func.grad(quadratic), (1.0, 1.0), 1 / 4, 60))
assert (heights <= heights[0] * (1 - 0.2 / 4) ** t).all()  # (12.3.10)
lucky = gd(torch.func.grad(quadratic), (1.0, 0.0), 0.51, 60)
assert lucky[-1].norm() < 0.01  # no top component, no divergence

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.5, 3))
for i, (rate, name) in enumerate(zip(rates, [
        "1/L", "2/(L+\\mu)", "1.96/L", "2.04/L"])):
    rho = max(abs(1 - rate * 0.2), abs(1 - rate * 4))
    start = errors[rate][-1] / rho**60
    ax.plot(t, start * rho**t, "-", color=f"C{i}", lw=0.8)
    ax.plot(t[::4], errors[rate][::4], "osv^"[i], color=f"C{i}", ms=4,
            label=rf"$\eta={name}$")
ax.set(yscale="log", xlabel="step", ylabel="distance to the minimum")
ax.legend(fontsize=8)
d2l.describe(ax, """Distance to the minimum against the step for four rates,
    markers on straight lines: the best rate falls steepest, 2.04 over L
    rises.""")

# %% [markdown]
# **Figure 12.3.5.** Curvatures 0.2 and 4, so $\kappa=20$: measured errors (markers) and lines of the predicted slope $\rho$, drawn through the last point.
#
# The cost of ill conditioning is proportional to it: for large $\kappa$ the best factor is about $1-2/\kappa$, so ten times the condition number takes ten times the steps (Exercise 1).
# [Section 12.6](06-momentum.ipynb) replaces $\kappa$ by $\sqrt\kappa$ with momentum.
# On quadratics a sequence of rates does the same without momentum: the reciprocals of the zeros of a Chebyshev polynomial on $[\mu,L]$, known since the 1950s (Saad, 2019).
# With 256 of them $\kappa=100$ costs a factor of 0.82 per step instead of 0.98, although half of the steps exceed the best constant rate and the longest is almost $1/\mu$.
# The order matters: sorted by length, the steps can blow rounding errors up by many powers of ten, as the check shows; mixing long and short ones keeps them small there.
# For all $L$-smooth, strongly convex functions, a fixed pattern of short and long steps is known since 2023 to lower the power of $\kappa$ to 0.79 (Altschuler and Parrilo).

# %% tags=["hide-input"]
# check 12.3-C5: Chebyshev's rates on curvatures from 1 to 100
n, curvatures = 256, torch.linspace(1, 100, 2001, dtype=torch.float64)
zeros = 50.5 + 49.5 * torch.cos(
    (2 * torch.arange(n, dtype=torch.float64) + 1) * torch.pi / (2 * n))
left = (1 - curvatures / zeros[:, None]).prod(dim=0).abs().max()
assert abs(left ** (1 / n) - 0.82) < 5e-3 and abs(99 / 101 - 0.98) < 5e-3
assert abs(left ** (1 / n) - 9 / 11) < 5e-3  # (sqrt(100) - 1) / (10 + 1)
assert (1 / zeros > 2 / 101).sum() == n // 2 and 0.99 < 1 / zeros.min() < 1
order = [0]  # long and short steps mixed
while len(order) < n:
    order = [k for j in order for k in (j, 2 * len(order) - 1 - j)]
H = torch.tensor([[36.64, 47.52], [47.52, 64.36]], dtype=torch.float64)
for rates, good in ((zeros[order], True), (zeros, False)):
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)  # curvatures 1, 100
    for zero in rates:
        x = x - H @ x / zero
    assert x.norm() < 0.83**n if good else x.norm() > 1e50

# %% [markdown]
# ## The edge of stability
#
# The loss of a network is neither convex nor smooth with a known $L$.
# What does gradient descent do there?
# We need $\lambda_{\max}$ of the Hessian, the *sharpness*, without building a matrix with a row for each parameter.
# Differentiate twice: $\nabla(\mathbf{v}^\top\nabla f)=\mathbf{H}\mathbf{v}$ costs about as much as a few gradients (Pearlmutter, 1994).
# *Power iteration* multiplies a random vector by $\mathbf{H}$ again and again; the eigenvector of the largest $|\lambda|$ takes over.
# Stopped early, it finds too small a magnitude: with 20 products at most 3 % too small for the trained networks below.

# %% tags=["export"]
def sharpness(loss, params, iters=20, generator=None):
    """The Hessian's eigenvalue of largest magnitude, by power iteration.

    It takes `iters` products; the magnitude is approached from below.

    `loss()` gives a number that depends on `params`, a list of tensors
    with gradients. The Hessian is never built, only its products.
    """
    grads = torch.autograd.grad(loss(), params, create_graph=True)
    v = [torch.randn(p.shape, dtype=p.dtype, generator=generator).to(p.device)
         for p in params]
    for _ in range(iters):
        norm = torch.sqrt(sum((part ** 2).sum() for part in v))
        v = [part / norm for part in v]
        product = torch.autograd.grad(grads, params, v, retain_graph=True)
        value = sum((a * b).sum() for a, b in zip(v, product))
        v = product
    return value.item()

# %% tags=["hide-input"]
# check: equal to the full Hessian; the sign and the generator are right
def tiny(parts):
    """Loss of a network 4-3-1 with weights of shape (4, 3) and (3,)."""
    W, v = parts
    return (torch.tanh(A[:9, [0, 1, 2, 0]] @ W) @ v - sign[:9]).square().mean()


rng = torch.Generator().manual_seed(5)
flat = torch.randn(15, generator=rng, dtype=torch.float64)
eigs = hessian_eigs(lambda x: tiny([x[:12].reshape(4, 3), x[12:]]), flat)
parts = [flat[:12].reshape(4, 3).requires_grad_(),
         flat[12:].clone().requires_grad_()]
found = [sharpness(lambda: tiny(parts), parts, iters,
                   torch.Generator().manual_seed(1)) for iters in (2, 300)]
assert abs(found[1] - eigs[eigs.abs().argmax()]) < 1e-6
assert abs(found[0] - found[1]) > 1e-6  # so few products are not enough
state = torch.get_rng_state()
again = sharpness(lambda: tiny(parts), parts, 2,
                  torch.Generator().manual_seed(1))
assert again == found[0] and torch.equal(state, torch.get_rng_state())
assert all(p.grad is None for p in parts)
x = torch.ones(2, requires_grad=True)
hill = sharpness(lambda: x[1] ** 2 - 1.5 * x[0] ** 2, [x])
assert abs(hill + 3) < 1e-3  # the largest magnitude, with its sign
for iters in (1, 2, 3):  # exactly so many products, by hand
    first = torch.randn(2, generator=torch.Generator().manual_seed(1)) ** 2
    share = first * torch.tensor([9.0, 4.0]) ** (iters - 1)
    value = (share * torch.tensor([-3.0, 2.0])).sum() / share.sum()
    assert abs(sharpness(lambda: x[1] ** 2 - 1.5 * x[0] ** 2, [x], iters,
                         torch.Generator().manual_seed(1)) - value) < 1e-5

# %% [markdown]
# The network has 64 inputs, 32 hidden tanh units and 10 outputs; the data are 200 of scikit-learn's 8x8 digits, the loss is the mean squared error to one-hot labels.
# All networks train side by side, as stacked matrices: three seeds, each with $\eta=0.6$ and 0.8.

# %%
digits = load_digits()
X = torch.tensor(digits.data[:200] / 16, dtype=torch.float32)
Y = F.one_hot(torch.tensor(digits.target[:200])).float()  # (200, 10)


def networks(seeds):
    """Parameters of one network for each seed, stacked along axis 0."""
    rows = []
    for seed in seeds:
        torch.manual_seed(seed)
        a, b = nn.Linear(64, 32), nn.Linear(32, 10)
        rows.append([a.weight.T, a.bias[None], b.weight.T, b.bias[None]])
    return [torch.stack(p).detach().requires_grad_() for p in zip(*rows)]


def losses(params):
    """The loss of each network, shape (networks,)."""
    W, b, V, c = params
    return (torch.tanh(X @ W + b) @ V + c - Y).square().mean(dim=(1, 2))

# %%
def descend(params, eta, steps, checks):
    """Full-batch gradient descent with a rate for each network.

    Returns losses (steps, networks) and sharpness (checks, networks).
    """
    rates, trace, sharp = torch.tensor(eta)[:, None, None], [], []
    for t in range(steps):
        values = losses(params)
        trace.append(values.detach())
        if t % (steps // checks) == 0:
            for i in range(len(eta)):
                own = [p[i:i + 1].detach().requires_grad_() for p in params]
                sharp.append(sharpness(
                    lambda own=own: losses(own).sum(), own,
                    generator=torch.Generator().manual_seed(1)))
        grads = torch.autograd.grad(values.sum(), params)
        with torch.no_grad():
            for p, g in zip(params, grads):
                p -= rates * g
    return torch.stack(trace), torch.tensor(sharp).reshape(-1, len(eta))

# %% [markdown]
# The control has $\eta=0.2$ and three times the steps, thus the same $\eta T$ as 0.6: without the limit $2/\eta$ it may go wherever the loss leads.

# %%
seeds = list(range(num_seeds))
edge = networks(2 * seeds)
both = descend(edge, [0.6] * num_seeds + [0.8] * num_seeds, edge_steps, 30)
trace, sharp = {}, {}
for i, eta in enumerate((0.6, 0.8)):
    trace[eta], sharp[eta] = (part[:, i * num_seeds:(i + 1) * num_seeds]
                              for part in both)
trace[0.2], sharp[0.2] = descend(networks(seeds), [0.2] * num_seeds,
                                 3 * edge_steps, 30)

# %% tags=["hide-input", "chaotic"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for i, eta in enumerate(sorted(sharp)):
    time = eta * len(trace[eta]) / 30 * torch.arange(30)
    for k in range(num_seeds):
        left.plot(time, sharp[eta][:, k], color=f"C{i}", lw=1,
                  ls=["-", "--", ":"][i],
                  label=rf"$\eta={eta}$" if k == 0 else None)
        some = trace[eta][::max(1, edge_steps // 300), k]
        right.plot(eta * len(trace[eta]) / len(some)
                   * torch.arange(len(some)), some, color=f"C{i}", lw=0.8,
                   ls=["-", "--", ":"][i])
    if eta > 0.2:
        left.axhline(2 / eta, color=f"C{i}", lw=0.6)
left.set(xlabel=r"$\eta\,t$", ylabel=r"sharpness $\lambda_{\max}$")
right.set(xlabel=r"$\eta\,t$", ylabel="loss", yscale="log")
left.legend(fontsize=8)
d2l.describe(fig, """Left, sharpness against rate times step: the curves of
    rates 0.6 and 0.8 rise to horizontal lines at 2 over the rate and stay
    there, the curves of rate 0.2 pass above both. Right, the losses fall;
    those at the edge flicker.""")

# %% [markdown]
# **Figure 12.3.6.** Sharpness (left, thin lines at $2/\eta$) and loss (right), three seeds for each rate.

# %%
full_run = edge_steps >= 3000 and num_seeds >= 3  # not smoke or rehearsal
# check 12.3-C9: the sharpness settles at 2 / eta, the loss falls unevenly
late = {eta: sharp[eta][20:].mean(dim=0) for eta in sharp}
ups = {eta: (trace[eta].diff(dim=0) > 1e-6).sum(dim=0) for eta in trace}
if full_run:
    for eta in (0.6, 0.8):
        assert (sharp[eta][0] < 0.9 * 2 / eta).all()
        assert (late[eta] * eta / 2 - 1).abs().max() < 0.03
        assert (ups[eta] > 100).all()
        assert (trace[eta][-1] < 0.5 * trace[eta][500]).all()
    assert (late[0.2] > 1.1 * 2 / 0.6).all()  # past the edge of 0.6
    assert (late[0.2] < 0.6 * 2 / 0.2).all() and (ups[0.2] == 0).all()
    for i in range(2 * num_seeds):  # 20 products against 200
        own = [p[i:i + 1].detach().requires_grad_() for p in edge]
        few, many = (sharpness(lambda own=own: losses(own).sum(), own, count,
                               torch.Generator().manual_seed(1))
                     for count in (20, 200))
        assert 0.97 * many < few < 1.0001 * many
assert trace[0.6].shape == (edge_steps, num_seeds) == trace[0.8].shape
assert trace[0.2].shape == (3 * edge_steps, num_seeds)
assert torch.equal(trace[0.6][0], trace[0.8][0])  # the same networks
assert torch.equal(trace[0.2][0], trace[0.6][0])
assert len(set(trace[0.2][0].tolist())) == num_seeds

# %% [markdown]
# On a quadratic, $\lambda_{\max}>2/\eta$ would be the end.
# Here, training first *raises* the sharpness to about $2/\eta$, and then it stays there: its mean over the last thousand steps lies within 3 % of that value, for all three seeds at both rates.
# The loss goes up in more than a hundred single steps, and yet it ends below half of its value at step 500.
# In the control the loss never rises, and its sharpness passes the line at which the runs with $\eta=0.6$ stopped: in this experiment the rate, not the loss alone, sets where the sharpness ends.
#
# Cohen and others (2021) found this *edge of stability* for full-batch gradient descent on many networks.
# It needs enough steps to get there, and full batches: with minibatches $\lambda_{\max}$ generally stays below $2/\eta$, and a curvature measured on the batches takes its place (Andreyev and Beneventano, 2024).
# The descent lemma does not describe such training; a third-order expansion shows how the curvature falls when the path oscillates (Damian and others, 2023), and differential equations for the averaged path extend this to adaptive methods (Cohen and others, 2025).

# %% [markdown]
# ## Newton's method
#
# Gradient descent asks for one number $\eta$ that suits all directions.
# *Newton's method* takes the curvature of $f$ itself: the expansion
#
# $$f(\mathbf{x}+\boldsymbol\epsilon)\approx f(\mathbf{x})+\boldsymbol\epsilon^\top\nabla f(\mathbf{x})+\tfrac12\boldsymbol\epsilon^\top\mathbf{H}\boldsymbol\epsilon \tag{12.3.12}$$
#
# with the Hessian $\mathbf{H}=\nabla^2f(\mathbf{x})\in\mathbb{R}^{d\times d}$ is stationary in $\boldsymbol\epsilon\in\mathbb{R}^d$ where
#
# $$\boldsymbol\epsilon=-\mathbf{H}^{-1}\nabla f(\mathbf{x}). \tag{12.3.13}$$
#
# If $f$ is quadratic, the expansion is exact and one step suffices, whatever $\kappa$.
# Storing $\mathbf{H}$ takes $O(d^2)$ numbers and solving with it $O(d^3)$ operations, out of reach for a network with millions of weights.
# The option `absolute` replaces each eigenvalue of $\mathbf{H}$ by its magnitude, and `eta` *damps* the step.

# %%
def newton(grad, hess, x0, eta=1.0, steps=10, absolute=False):
    """The path (steps + 1, d) of x <- x - eta H^-1 grad(x) from x0 (d,)."""
    x = torch.as_tensor(x0, dtype=torch.float64)
    path = [x]
    for _ in range(steps):
        H = hess(x)
        if absolute:
            values, vectors = torch.linalg.eigh(H)
            H = vectors @ values.abs().diag() @ vectors.T
        x = x - eta * torch.linalg.solve(H, grad(x))
        path.append(x)
    return torch.stack(path)


def newton_on(f, x0, **options):
    """Newton's method on f: (d,) -> number, derivatives by autograd."""
    return newton(torch.func.grad(f), torch.func.hessian(f), x0, **options)


def tilted(x):
    """A quadratic whose axes are not those of x; curvatures 0.4 and 8."""
    return 0.1 * (x[0] + x[1]) ** 2 + 2 * (x[0] - x[1]) ** 2


assert newton_on(tilted, (3.0, -5.0), steps=1)[-1].norm() < 1e-12

# %% tags=["hide-input"]
# check: |H| removes the error along positive curvature, repels from others
Q = torch.linalg.qr(A[:3]).Q
bends = A.new_tensor([1.0, -2.0, 3.0])
end = newton_on(lambda x: (bends * (Q.T @ x) ** 2).sum(), A[3], steps=1,
                absolute=True)[-1]
torch.testing.assert_close(Q.T @ end, Q.T @ A[3] * A.new_tensor([0, 2, 0]))
assert newton_on(tilted, A[3, :2]).shape == (11, 2)

# %% [markdown]
# How fast is it on functions that are not quadratic?
# Let $e_k=x_k-x^*$ be the error in one dimension.
# Taylor's formula from $x_k$ back to $x^*$, where $f'=0$, reads $0=f'(x_k)-e_kf''(x_k)+\frac12e_k^2f'''(\xi)$ with some $\xi$ between them.
# Divide by $f''(x_k)$ and recognize the Newton step:
#
# $$e_{k+1}=e_k-\frac{f'(x_k)}{f''(x_k)}=\frac12\,\frac{f'''(\xi)}{f''(x_k)}\,e_k^2. \tag{12.3.14}$$
#
# The error is *squared*: this is quadratic convergence, and it doubles the number of correct digits per step.
# Some texts call this linear; linear convergence is the much weaker $|e_{k+1}|\le\alpha|e_k|$ with $\alpha<1$.
# The condition is a start near enough, and $f''(x^*)\ne0$.
# On $\log(e^x+e^{-2x-3})$ the constant is $\frac12$.
# On `cosh(x / 2)` we have $f'''(0)=0$, and the error is even cubed.

# %%
# check 12.3-C3: cosh(x / 2) from 10: long equal steps, then cubes
path = newton_on(lambda x: torch.cosh(x / 2).sum(), [10.0], steps=8)[:, 0]
torch.testing.assert_close(path[1:8], torch.tensor(
    [8.000182, 6.001523, 4.011398, 2.082542, 0.525763, 0.0117856, 1.364e-7],
    dtype=torch.float64), rtol=2e-4, atol=0)
assert path[8].abs() < 1e-12
torch.testing.assert_close(path[6:8], path[5:7] ** 3 / 12, rtol=0.05, atol=0)

# %%
def two_arms(x):
    """log(exp(x) + exp(-2 x - 3)), with curvature 2 at its minimum."""
    return torch.logaddexp(x, -2 * x - 3)


x_best = (math.log(2) - 3) / 3
squares, halves = (abs(path[:, 0] - x_best) for path in (
    newton_on(lambda x: two_arms(x).sum(), [-1.0], steps=5),
    gd(torch.func.grad(lambda x: two_arms(x).sum()), [-1.0], 0.25, 20)))
for k in (1, 2):
    assert abs(squares[k + 1] / squares[k] ** 2 - 0.5) < 0.05
assert 2.5 < squares[0] ** 2 / 2 / squares[1] < 3.5  # not yet in the limit
assert abs(halves[20] / halves[19] - (1 - 0.25 * 2)) < 1e-3
far = newton_on(lambda x: two_arms(x).sum(), [0.0], steps=3)
assert far[-1].abs() > 1e5  # from 0 it diverges

# %% tags=["hide-input"]
k = torch.arange(9)
cubes = path.abs()
fig, ax = plt.subplots(figsize=(5.5, 3))
for i, (name, seen, rule) in enumerate([
        ("gradient descent: $e/2$", halves[:9], halves[:8] / 2),
        ("Newton: $e^2/2$", squares[:4], squares[:3] ** 2 / 2),
        (r"Newton on cosh: $e^3/12$", cubes[:8], cubes[:7] ** 3 / 12)]):
    ax.plot(k[:len(seen)], seen, "os^"[i] + "-", color=f"C{i}", ms=4,
            label=name)
    near = seen[:-1] < 1
    ax.plot(k[1:len(seen)][near], rule[near], "_", color=f"C{i}", ms=16)
ax.set(yscale="log", xlabel="step $k$", ylabel="error $|e_k|$")
ax.legend(fontsize=8)
d2l.describe(ax, """Errors against steps on a logarithmic axis: gradient
    descent is a straight line, the two curves of Newton's method bend down
    ever more steeply. All bars for the predictions lie on the markers but
    the first of Newton's, which is about three times too high.""")

# %% [markdown]
# **Figure 12.3.7.** Linear, quadratic and cubic convergence; bars mark what the law predicts from the error before, where that error is below 1.
# Newton's first bar is too high: the constant $\frac12$ holds in the limit.
#
# Far away none of this holds.
# On the same $\log(e^x+e^{-2x-3})$, Newton's method diverges from 0, though the function is smooth and convex.
# On $\sqrt{1+x^2}$ of Figure 12.3.3 a Newton step leads from $x$ to $-x^3$: it converges from 0.9 and explodes from 1.1.
# And on a function that is not convex, $-\mathbf{H}^{-1}\nabla f$ need not point downhill.

# %%
# check 12.3-C4: Newton lands on a maximum, damped Newton on a minimum
def wavy_sum(x):
    return wavy(x).sum()


bad = newton_on(wavy_sum, [10.0], steps=10)[:, 0]
damped = newton_on(wavy_sum, [10.0], eta=0.5, steps=10)[:, 0]
assert abs(bad[-1] - 26.834133) < 1e-6 and abs(wavy(bad[-1]) - 26.75) < 5e-3
assert abs(curvature(bad[-1]) + 6.01) < 5e-3
assert abs(damped[-1] - 7.26986) < 5e-6
climbing = newton_on(wavy_sum, [25.0], eta=0.5, steps=30)[:, 0]
assert abs(climbing[-1] - bad[-1]) < 1e-6
assert abs(best - 7.269388) < 1e-6 and abs(wavy(best) + 6.978141) < 1e-6
for x0 in (0.9, 1.1):
    cube = newton_on(lambda x: torch.sqrt(1 + x**2).sum(), [x0], steps=3)
    powers = [x0, -(x0**3), x0**9, -(x0**27)]
    torch.testing.assert_close(cube[:, 0], torch.tensor(
        powers, dtype=torch.float64))

# %% tags=["hide-input"]
x = torch.linspace(0, 29, 300, dtype=torch.float64)
ax = d2l.plot(x, wavy(x), xlabel="$x$", ylabel=r"$x\,\cos(0.15\pi x)$")
ax.plot(bad, wavy(bad), "s--", ms=4, color="C1", lw=0.8, label="Newton")
ax.plot(damped, wavy(damped), "o:", ms=4, color="C2", lw=0.8,
        label=r"damped, $\eta=0.5$")
ax.plot(10, wavy(torch.tensor(10.0)), "k*", ms=9)
ax.legend(fontsize=8)
d2l.describe(ax, """A wave of growing amplitude. From x = 10 Newton's method
    jumps to the maximum at 26.8; with half steps it ends in the minimum at
    7.3.""")

# %% [markdown]
# **Figure 12.3.8.** From the star at 10, Newton's method ends on a local maximum; with half steps it ends in a minimum.
#
# Damping helped from this start; from 25 the damped method climbs to the same maximum.
# The repair with a reason is $|\mathbf{H}|$: with all eigenvalues positive the step points downhill, and saddle points repel instead of attract (Dauphin and others, 2014).
# Exercise 2 tries it.

# %% [markdown]
# ## Preconditioning and line search
#
# If the whole Hessian is too large, its diagonal is not.
# Suppose one coordinate is a length in millimetres and another one in kilometres: the curvatures differ by $10^{12}$, and no single rate suits both.
# *Diagonal preconditioning* divides each coordinate by its own curvature,
#
# $$\mathbf{x}_{t+1}=\mathbf{x}_t-\eta\,\mathrm{diag}(\mathbf{H})^{-1}\nabla f(\mathbf{x}_t), \tag{12.3.15}$$
#
# where $\mathrm{diag}(\mathbf{H})$ keeps only the diagonal of $\mathbf{H}$; units cancel.
# [Section 12.7](07-adagrad.ipynb) to [Section 12.10](10-adam.ipynb) estimate such scales from gradients alone.

# %%
# check 12.3-C8: the diagonal cures scales, not correlations
def preconditioned_gd(grad, hess, x0, eta, steps):
    """Gradient descent, divided by the Hessian's diagonal."""
    return gd(lambda x: grad(x) / hess(x).diagonal(), x0, eta, steps)


def on_diagonal(f, eta=1.0, steps=60, x0=(3.0, -5.0)):
    return preconditioned_gd(torch.func.grad(f), torch.func.hessian(f), x0,
                             eta, steps)


assert on_diagonal(quadratic, steps=1)[-1].norm() < 1e-12
H = torch.func.hessian(tilted)(origin)
torch.testing.assert_close(H, H.new_tensor([[4.2, -3.8], [-3.8, 4.2]]))
spectrum = hessian_eigs(tilted, origin)
torch.testing.assert_close(spectrum, H.new_tensor([0.4, 8]))
eigs = torch.linalg.eigvals(H / H.diagonal()[:, None]).real
assert abs(eigs.max() / eigs.min() - 20) < 1e-9
slow = on_diagonal(tilted).norm(dim=1)
assert abs(slow[-1] / slow[-2] - 19 / 21) < 1e-6
unit = torch.tensor([1.0, 1e-6], dtype=torch.float64)  # mm and km
other = on_diagonal(lambda x: tilted(x / unit), x0=(3.0, -5.0e-6))
torch.testing.assert_close(other / unit, on_diagonal(tilted))

# %% [markdown]
# On $0.1x_1^2+2x_2^2$ one step suffices, and changing a unit by $10^6$ changes nothing.
# For $0.1(x_1+x_2)^2+2(x_1-x_2)^2$ it gains nothing: both diagonal entries are 4.2, $\kappa$ stays 20, and the factor per step is the old $\frac{19}{21}$.
# These axes are turned by 45 degrees, the worst case of two dimensions; at 10 degrees the diagonal still lowers $\kappa$ from 20 to 3.9.
# In three dimensions it can even raise $\kappa$.

# %% tags=["hide-input"]
# check 12.3-C8: the gain depends on the turn, and can be a loss
def kappa_scaled(H):
    eigs = torch.linalg.eigvals(H / H.diagonal()[:, None]).real
    return (eigs.max() / eigs.min()).item()


def turned(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    R = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return R @ torch.tensor([1.0, 20.0], dtype=torch.float64).diag() @ R.T


kappas = [kappa_scaled(turned(degrees)) for degrees in range(0, 91, 5)]
assert abs(kappas[2] - 3.85) < 0.01 and abs(kappas[9] - 20) < 1e-9
assert max(kappas) == kappas[9] and abs(kappas[0] - 1) < 1e-9
rng = torch.Generator().manual_seed(0)
bends, count = torch.tensor([1.0, 4.0, 20.0], dtype=torch.float64).diag(), 500
in_3d = [kappa_scaled(Q @ bends @ Q.T) for Q in torch.linalg.qr(torch.randn(
    count, 3, 3, generator=rng, dtype=torch.float64)).Q]
assert 0.01 < sum(k > 20.1 for k in in_3d) / count < 0.2 and max(in_3d) < 25

# %% [markdown]
# A *line search* chooses $\eta$ anew in each step.
# In one dimension the sign of the slope tells on which side of the minimum of a convex function one stands, so bisection works.
# *Backtracking* is cheaper: halve $\eta$ until $f$ falls by a share of what the slope promises (Armijo, 1966).
# With the share $\frac12$ this is the descent lemma (12.3.5) turned into a test, so it accepts at the latest at the first $\eta\le1/L$, without knowing $L$.

# %%
def bisect_line_search(slope, lo, hi, tol=1e-12):
    """Where the rising function `slope` is 0, between lo and hi."""
    if not slope(lo) < 0 < slope(hi):
        raise ValueError(f"the slope must rise through 0 between {lo} and "
                         f"{hi}.")
    while hi - lo > tol:
        mid = (lo + hi) / 2
        if mid in (lo, hi):  # no number lies between them
            break
        lo, hi = (lo, mid) if slope(mid) > 0 else (mid, hi)
    return (lo + hi) / 2


def backtracking(f, x, grad, eta=1.0, share=0.5):
    """The first of eta, eta / 2, ... that lowers f(x) enough (Armijo)."""
    while (f(x - eta * grad)
           > f(x) - share * eta * grad.square().sum()):
        eta /= 2
    return eta

# %%
# check 12.3-C6: both find the minimizer (ln 2 - 3) / 3
two_arms_slope = torch.func.grad(two_arms)
ends = torch.tensor([-3.0, 2.0], dtype=torch.float64)
assert abs(x_best + 0.7689509) < 5e-8
assert abs(bisect_line_search(two_arms_slope, *ends) - x_best) < 1e-11
x, etas = torch.zeros((), dtype=torch.float64), []
for _ in range(20):
    g = two_arms_slope(x)
    etas.append(backtracking(two_arms, x, g))
    x = x - etas[-1] * g
assert abs(x - x_best) < 1e-6
assert min(etas) >= 4 / 9 / 2  # at least 1 / 2L, as L = 9 / 4

# %% tags=["hide-input"]
# check: bisection refuses, backtracking starts where it is told
for lo, hi in ((1.0, 2.0), (-2.0, -1.0), (1.0, -1.0)):
    try:
        bisect_line_search(lambda x: x, lo, hi)
        raise AssertionError("a missing change of sign was accepted")
    except ValueError as error:
        assert f"between {lo} and {hi}" in str(error)
one = torch.tensor(1.0, dtype=torch.float64)
big = bisect_line_search(lambda x: x - 1e6 - 0.3, 0.0, 3e6)
assert abs(big - 1e6 - 0.3) < 1e-9  # coarser than the tolerance, yet it ends
for start, share, expected in ((1.0, 0.5, 0.5), (0.4, 0.5, 0.4),
                               (0.4, 0.7, 0.2), (4.0, 0.5, 0.5)):
    assert backtracking(torch.square, one, 2 * one, start, share) == expected
for start, expected in ((0.55, 0.275), (0.45, 0.45)):  # the share is 1/2
    assert backtracking(torch.square, one, 2 * one, start) == expected
assert backtracking(lambda x: x**2 / 10, one, one / 5) == 1

# %% [markdown]
# Both ideas, curvature and line search, meet in *L-BFGS* (Liu and Nocedal, 1989).
# It builds an approximation of $\mathbf{H}^{-1}$ from the last few gradient differences, so memory grows with $d$ and not with $d^2$.
# PyTorch's version needs a *closure* that recomputes the loss, as the line search asks several times per step.
# The standard test is Rosenbrock's curved valley, whose minimum is at $(1,1)$.

# %% tags=["generated"]
def rosenbrock(x):
    """A curved valley with the minimum 0 at (1, 1), for x (2,)."""
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


start = [-1.2, 1.0]
x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.LBFGS([x], max_iter=100, tolerance_change=1e-12,
                              line_search_fn="strong_wolfe")
calls = []


def closure():
    optimizer.zero_grad()
    value = rosenbrock(x)
    value.backward()
    calls.append(value.item())
    return value


optimizer.step(closure)
point = torch.tensor(start, dtype=torch.float64)
for _ in range(1000):  # gradient descent with backtracking, as a contrast
    g = torch.func.grad(rosenbrock)(point)
    point = point - backtracking(rosenbrock, point, g) * g
print(f"L-BFGS: {len(calls)} calls, error {(x - 1).abs().max():.0e}; "
      f"backtracking: 1000 steps, error {(point - 1).abs().max():.0e}")
assert (x - 1).abs().max() < 1e-6 and len(calls) < 60
assert calls[0] > 24 and (point - 1).abs().max() > 1e-3

# %% [markdown]
# L-BFGS is built for exact gradients.
# With minibatches, the difference of two gradients also contains the change of the batch; the rest of this chapter works with such noisy gradients.

# %% [markdown]
# ## Summary
#
# - A step of gradient descent is the lowest point of a parabola of curvature $1/\eta$; if that parabola lies above $f$, thus for $\eta\le1/L$, the loss falls by at least $\frac\eta2\|\nabla f\|^2$.
# - Smoothness alone makes some gradient small, convexity adds a gap of order $1/T$, strong convexity or the Polyak-Łojasiewicz condition a constant factor per step.
# - On quadratics with a constant rate, $2/L$ is the limit, $2/(L+\mu)$ the best, and the number of steps grows like $\kappa$.
# - A network need not diverge at the limit: in our runs the sharpness rose to $2/\eta$ and stayed there while the loss went on falling, unevenly.
# - Newton's method squares the error near a minimum; far away it can diverge or climb to a maximum.
# - A diagonal preconditioner removes bad scales; what it gains where coordinates are correlated depends on the axes, and at 45 degrees it is nothing.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.3-1
#
# At the best constant rate, how many steps does a quadratic with $\kappa=10$, 100, 1000 need until the distance to the minimum is $10^{-6}$ of the first one, in the worst case?
# Confirm it by running.

# %% [markdown]
# #### Solution 12.3-1

# %% [markdown]
# The smallest $T$ with $\left(\frac{\kappa-1}{\kappa+1}\right)^T\le10^{-6}$, about $\frac\kappa2\log10^6$.
# At the best rate both directions have this factor in magnitude, so every start on a two-dimensional quadratic is a worst case.

# %%
def steps_needed(H, x0, eta, tol=1e-6):
    """Steps of gradient descent on x^T H x / 2 until |x| <= tol |x0|."""
    x = x0 = torch.as_tensor(x0, dtype=torch.float64)
    steps, small = 0, tol * x0.norm()
    while x.norm() > small:
        x, steps = x - eta * (H @ x), steps + 1
    return steps


for kappa, T in ((10, 69), (100, 691), (1000, 6908)):
    formula = math.log(1e-6) / math.log((kappa - 1) / (kappa + 1))
    H = torch.tensor([1.0, kappa], dtype=torch.float64).diag()
    assert math.ceil(formula) == T
    assert steps_needed(H, [1.0, 1.0], 2 / (1 + kappa)) == T
    assert steps_needed(H, [1.0, 1.0], 1.9 / (1 + kappa)) > T

# %% [markdown]
# ### Exercise 12.3-2
#
# Run Newton's method with $|f''|$ in place of $f''$ on $x\cos(0.15\pi x)$ from 10.
# Where does it end, and is that the nearest minimum?

# %% [markdown]
# #### Solution 12.3-2

# %% [markdown]
# At the minimum at 20.22, not at the maximum.
# The first step is the plain Newton step, since $f''(10)>0$, and it jumps over the nearest minimum at 7.27 to 5; the second one, with a small curvature, goes far to the right.
# Only then does $f''<0$ occur, and the magnitude turns the step downhill.
# Positive curvature makes a step point downhill; it does not make it short.

# %%
repaired = newton_on(wavy_sum, [10.0], steps=12, absolute=True)[:, 0]
assert abs(repaired[-1] - 20.2219) < 1e-4
assert abs(wavy(repaired[-1]) + 20.1114) < 1e-4
assert curvature(repaired[-1]) > 0 > curvature(repaired[2])
assert abs(repaired[1] - 5) < 1e-6 and repaired[2] > 20
torch.testing.assert_close(repaired[:3], bad[:3])
print("path:", ", ".join(f"{value:.2f}" for value in repaired[:8].tolist()))

# %% [markdown]
# ### Exercise 12.3-3
#
# Take a quadratic with the curvatures 1 and $10^4$.
# Count the steps to $10^{-6}$ of the first distance for gradient descent at its best rate, with diagonal preconditioning, and with diagonal preconditioning after a rotation by 45 degrees.

# %% [markdown]
# #### Solution 12.3-3

# %% [markdown]
# About 69 thousand, one, and 69 thousand again.
# The rotation makes both diagonal entries $\frac{1+10^4}2$, so dividing by them only changes the rate.

# %%
H = torch.tensor([1.0, 1e4], dtype=torch.float64).diag()
c = math.sqrt(0.5)
turn = torch.tensor([[c, -c], [c, c]], dtype=torch.float64)
rotated = turn @ H @ turn.T
start = torch.tensor([1.0, 1.0], dtype=torch.float64)
plain = steps_needed(H, start, 2 / (1 + 1e4))
scaled = steps_needed(H / H.diagonal()[:, None], start, 1.0)
turned = steps_needed(rotated / rotated.diagonal()[:, None], turn @ start, 1.0)
print(f"about {plain / 1000:.0f} thousand, {scaled}, "
      f"{turned / 1000:.0f} thousand")
assert scaled == 1 and abs(plain - 69078) < 3 and abs(turned - plain) < 3

# %% [markdown]
# ### Exercise 12.3-4
#
# *Golden-section search* needs no derivative.
# It keeps an interval with two inner points that divide it in the golden ratio, drops the end next to the higher one, and can reuse the other.
# Find the minimizer of $\log(e^x+e^{-2x-3})$ with it.
# How accurate can it be?

# %% [markdown]
# #### Solution 12.3-4

# %% [markdown]
# Near a minimum with value $f^*$ and curvature $\lambda$, $f$ differs from $f^*$ by $\frac\lambda2e^2$.
# Values closer than about $10^{-16}$ times their size are equal in double precision, so errors $e$ below about $10^{-8}$ are invisible.
# A search that sees the slope is limited only by rounding in the slope, which changes in proportion to $e$: bisection was right to $10^{-11}$.

# %%
def golden_section(f, lo, hi, tol=1e-7):
    """The minimizer of f on [lo, hi], and how often f was computed."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = hi - ratio * (hi - lo), lo + ratio * (hi - lo)
    fa, fb, count = f(a), f(b), 2
    while hi - lo > tol:
        if fa < fb:
            hi, b, fb = b, a, fa
            a = hi - ratio * (hi - lo)
            fa = f(a)
        else:
            lo, a, fa = a, b, fb
            b = lo + ratio * (hi - lo)
            fb = f(b)
        count += 1
    return (lo + hi) / 2, count


found, count = golden_section(two_arms, *ends)
assert abs(found - x_best) < 1e-6
assert count == 2 + math.ceil(math.log(5 / 1e-7) / math.log((1 + 5**0.5) / 2))
blind = two_arms(ends.new_tensor(x_best + 5e-9)) - two_arms(
    ends.new_tensor(x_best))
assert abs(blind) < 3e-16 and two_arms_slope(
    ends.new_tensor(x_best + 5e-9)) > 9e-9
print(f"{count} values of f")

# %% [markdown]
# ## Sources
#
# - C. Lemaréchal, *Cauchy and the gradient method*, Documenta Mathematica, Extra Volume (2012): the paper of 18 October 1847 and its motive, the orbits of heavenly bodies.
# - H. Karimi, J. Nutini and M. Schmidt, *Linear convergence of gradient and proximal-gradient methods under the Polyak-Łojasiewicz condition* (2016), [arXiv:1608.04636](https://arxiv.org/abs/1608.04636): the condition of 1963, and that it needs no convexity.
# - Y. Drori and M. Teboulle, *Performance of first-order methods for smooth convex minimization: a novel approach*, Mathematical Programming 145 (2014): exact worst cases.
# - Y. Saad, *Iterative methods for linear systems of equations: a brief historical journey* (2019), [arXiv:1908.01083](https://arxiv.org/abs/1908.01083): Chebyshev's polynomials in iterations of the 1950s.
# - J. M. Altschuler and P. A. Parrilo, *Acceleration by stepsize hedging I: multi-step descent and the silver stepsize schedule* (2023), [arXiv:2309.07879](https://arxiv.org/abs/2309.07879).
# - J. M. Cohen et al., *Gradient descent on neural networks typically occurs at the edge of stability*, ICLR 2021, [arXiv:2103.00065](https://arxiv.org/abs/2103.00065).
# - A. Andreyev and P. Beneventano, *Edge of stochastic stability: revisiting the edge of stability for SGD* (2024), [arXiv:2412.20553](https://arxiv.org/abs/2412.20553).
# - A. Damian, E. Nichani and J. D. Lee, *Self-stabilization: the implicit bias of gradient descent at the edge of stability*, ICLR 2023, [arXiv:2209.15594](https://arxiv.org/abs/2209.15594).
# - J. M. Cohen et al., *Understanding optimization in deep learning with central flows*, ICLR 2025, [arXiv:2410.24206](https://arxiv.org/abs/2410.24206).
# - B. A. Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6 (1994), [doi:10.1162/neco.1994.6.1.147](https://doi.org/10.1162/neco.1994.6.1.147).
# - Y. N. Dauphin et al., *Identifying and attacking the saddle point problem in high-dimensional non-convex optimization* (2014), [arXiv:1406.2572](https://arxiv.org/abs/1406.2572).
# - L. Armijo, *Minimization of functions having Lipschitz continuous first partial derivatives*, Pacific Journal of Mathematics 16 (1966): step sizes without knowing the Lipschitz constant.
# - D. C. Liu and J. Nocedal, *On the limited memory BFGS method for large scale optimization*, Mathematical Programming 45 (1989).
