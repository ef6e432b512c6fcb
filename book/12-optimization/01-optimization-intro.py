# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu:
#         trials: 2000000
#         chains: 10000
#         images: 1797
#       smoke:
#         trials: 40000
#         chains: 400
#     rehearsal:
#       trials: 0.1
#       chains: 0.1
#       images: 0.34
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
# # 12.1 Optimization and deep learning
#
# An optimizer lowers the loss on the training data.
# What we want from it is low loss on data that nobody has seen, in a landscape with more dimensions than anyone can picture.
# This section separates the two goals and then asks where an optimizer can get stuck: in local minima, at saddle points, or on plateaus.
#
# **You will**
#
# - watch an optimizer improve its objective while the risk gets worse;
# - tell minima, maxima and saddle points apart by the eigenvalues of the Hessian, and know when these are silent;
# - predict how long gradient descent stays at a saddle or on a plateau, and measure it;
# - compare the Hessian of a network with a random matrix, and count the copies of a minimum.
#
# **Cost**: about fifteen seconds on a CPU, no use for a GPU, no download.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
trials = 200_000  # random matrices of each size
chains = 1000  # runs of noisy gradient descent
images = 600  # digits for the small network

# %% [markdown]
# ## Two goals
#
# Every optimizer of this chapter minimizes an *objective* $f$; to maximize, minimize $-f$.
# In training, the objective is the *empirical risk*, the mean loss over the training examples.
# The goal of learning is the *risk*, the expected loss on a new example ([Section 3.6](../03-linear-regression/06-generalization.ipynb)).
# The two are different functions of the parameters, and so are their minimizers.
# We show it on the interval $[0.5,1.5]$ with one parameter $x$ and two formulas,
#
# $$f(x)=x\cos(\pi x),\qquad g(x)=f(x)+0.2\cos(5\pi x), \tag{12.1.1}$$
#
# where $f$ plays the risk, and $g$ the empirical risk: the same curve with the wiggle that a finite sample adds.
# For example, $f(1)=-1$ and $g(1)=-1.2$: at this point the training data look better than they are.

# %%
def f(x):
    return x * torch.cos(math.pi * x)


def g(x):
    return f(x) + 0.2 * torch.cos(5 * math.pi * x)


def minimizer(f, lo, hi):
    """Where f is smallest in [lo, hi]: three grids, each 500x finer."""
    for _ in range(3):
        x = torch.linspace(lo, hi, 1001, dtype=torch.float64)
        best = f(x).argmin().item()
        lo, hi = x[max(best - 1, 0)].item(), x[min(best + 1, 1000)].item()
    return x[best]

# %%
best_f, best_g = minimizer(f, 0.5, 1.5), minimizer(g, 0.5, 1.5)
print(f"risk:           minimum {f(best_f):.5f} at {best_f:.5f}")
print(f"empirical risk: minimum {g(best_g):.5f} at {best_g:.5f}, "
      f"where the risk is {f(best_g):.5f}")

# %%
# check 12.1-C2: the minimizers are not the same
assert abs(best_g - 1.01698) < 1e-5 and abs(g(best_g) + 1.20846) < 1e-5
assert abs(best_f - best_g - 0.073) < 0.001
assert f(best_g) > f(best_f) + 0.03
for end in (0.5, 1.5):  # a minimum at an end of the interval is found
    assert minimizer(lambda x: (x - 2 * end + 1) ** 2, 0.5, 1.5) == end

# %% [markdown]
# Now we let an optimizer run.
# *Gradient descent* repeats
#
# $$x_{t+1}=x_t-\eta f'(x_t), \tag{12.1.2}$$
#
# where $x_t$ is the parameter after $t$ steps and $\eta>0$ the learning rate; with several parameters the gradient takes the place of $f'$.
# [Section 12.3](03-gradient-descent.ipynb) studies it; here it is our probe.
# It sees the empirical risk $g$ and starts at 1.15.

# %%
def descend(f, x, eta, steps):
    """The path (steps + 1, ...) of gradient descent on f from x."""
    path = [torch.as_tensor(x, dtype=torch.float64)]
    for _ in range(steps):
        path.append(path[-1] - eta * torch.func.grad(f)(path[-1]))
    return torch.stack(path)

path = descend(g, 1.15, eta=0.003, steps=40)
turn = f(path).argmin().item()  # the step at which the risk is lowest

# %%
assert len(path) == 41 and path[0] == 1.15
torch.testing.assert_close(path[1].item(), 1.15 - 0.003 * (
    math.cos(1.15 * math.pi) - 1.15 * math.pi * math.sin(1.15 * math.pi)
    - math.pi * math.sin(5.75 * math.pi)))
assert (g(path).diff() < 0).all()  # the objective falls in every step
assert 0 < turn < 20 and (f(path)[:turn + 1].diff() < 0).all()
assert (f(path)[turn:].diff() > 0).all()  # the risk turns and rises

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.8))
x = torch.linspace(0.5, 1.5, 301, dtype=torch.float64)
d2l.plot(x, [f(x), g(x)], ["risk", "empirical risk"], xlabel="$x$",
         ylabel="$f$, $g$", ax=left)
left.plot(best_f, f(best_f), "o", color="C0")
left.plot(best_g, g(best_g), "s", color="C1")
d2l.plot(range(len(path)), [f(path), g(path)], xlabel="step of descent",
         ax=right)
right.axvline(turn, color="#888888", lw=1)
d2l.describe(fig, """Left, two curves over 0.5 to 1.5: the risk with its
    minimum near 1.09 and the wigglier empirical risk with its minimum near
    1.02. Right, along gradient descent the empirical risk falls all the time;
    the risk falls for a few steps, reaches its lowest value at a vertical
    line, and rises to a constant.""")

# %% [markdown]
# **Figure 12.1.1.** Left: risk, empirical risk and their minimizers (circle, square).
# Right: both along gradient descent on the empirical risk; at the vertical line the risk is lowest.
#
# The optimizer does its work perfectly: the objective falls in every step.
# The risk falls only at first.
# From the vertical line on, each step improves the objective and harms what we want.
# Stopping early would help here, but only someone who can measure the risk, on validation data, knows when.
#
# How far the two goals are apart depends on the data.
# Where a model sees each example once, every minibatch is fresh, and its loss *before* the step is an unbiased estimate of the risk.
# That is close to how large language models are trained; in a study of models with up to nine billion parameters, up to four passes over the same text were about as good as fresh text, and with more passes the returns faded (Muennighoff and others, 2023).
# In this chapter "loss" alone means the training loss, and the main question is how to lower it in few and cheap steps; loss on new data is called held-out loss.

# %% [markdown]
# ## Local and global minima
#
# A point is a *local minimum* if no point nearby has a lower value, and a *global minimum* if no point at all has.
# On the interval $[-1,2]$ our $f$ has two local minima, of which one is global.

# %%
local = minimizer(f, -1.0, 0.2)
print(f"global minimum {f(best_f):.5f} at {best_f:.5f}")
print(f"local minimum  {f(local):.5f} at {local:.5f}")

# %%
# check 12.1-C1: a local and a global minimum
assert abs(minimizer(f, -1.0, 2.0) - best_f) < 1e-5  # of the whole interval
assert abs(best_f - 1.09041) < 1e-5 and abs(f(best_f) + 1.04672) < 1e-5
assert abs(local + 0.27385) < 1e-5 and abs(f(local) + 0.17860) < 1e-5

# %% [markdown]
# Gradient descent from $-0.27$ can only slide into the local minimum.
# But training on minibatches adds noise to the gradient, and noise can carry a point over a barrier.
# We start 1000 *chains* at $-0.27$, and to each gradient add a normal number with standard deviation $\sigma$.
# There are three noise levels and the control $\sigma=0$, all with the same learning rate and number of steps; the position is kept within $[-1,2]$.
# A second set starts in the deep valley, at 1.09.

# %%
slope = torch.func.grad(lambda x: f(x).sum())  # for each entry of x


def noisy_descent(x, sigma, eta, steps, generator):
    """The path (steps + 1, *x.shape) of descent on f with noise sigma."""
    path = [x]
    for _ in range(steps):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = (x - eta * (slope(x) + sigma * noise)).clamp(-1, 2)
        path.append(x)
    return torch.stack(path)


rng = torch.Generator().manual_seed(121)
sigmas = torch.tensor([0.0, 1.5, 2.0, 2.5], dtype=torch.float64)
starts = torch.tensor([-0.27, 1.09], dtype=torch.float64)
shape = (len(starts), len(sigmas), chains)
runs = noisy_descent(starts[:, None, None].expand(shape),
                     sigmas[:, None], 0.05, 500, rng)  # (501, 2, 4, chains)
hill = -local  # f is odd, so its maximum mirrors its minimum
deep = (runs > hill).double().mean(dim=-1)  # (501, 2, 4)

# %%
for k, sigma in enumerate(sigmas):
    print(f"noise {sigma:.1f}: {deep[-1, 0, k]:6.1%} of the shallow starts "
          f"and {deep[-1, 1, k]:6.1%} of the deep ones end deep, "
          f"mean loss {f(runs[-1, 0, k]).mean():.3f}")

# %%
end = deep[-1]  # (2, 4), rows: starts
assert deep.shape == (501, 2, 4)
assert end[0, 0] == 0 and (end[1, :2] == 1).all()  # control: nobody moves
error = 4 * 0.5 / chains**0.5  # four standard errors, or more
assert (end[0].diff() > 0).all() and end[0, 2:].diff() > 2 * error
assert 0.005 < end[0, 1] < 0.1 and 0.35 < end[0, 2] < 0.6
assert (end[1] > 0.95).all()
assert f(hill) - f(best_f) > 3 * (f(hill) - f(local))
assert runs.min() >= -1 and runs.max() <= 2
state = torch.get_rng_state()  # the noise comes from the generator alone,
again = [noisy_descent(starts[[0, 0]], 2.0, 0.05, 3,
                       torch.Generator().manual_seed(1)) for _ in range(2)]
assert torch.equal(*again) and torch.equal(state, torch.get_rng_state())
assert again[0][1, 0] != again[0][1, 1]  # and differs from chain to chain
# noise after the crossing keeps a chain from settling
settled = noisy_descent(runs[-1, :, 1:], 0.0, 0.05, 200, rng)
assert (f(settled[-1]).mean(dim=-1) < f(runs[-1, :, 1:]).mean(dim=-1)).all()
distance = torch.stack([settled[-1] - best_f, settled[-1] - local])
assert distance.abs().amin(dim=0).max() < 1e-4

# %% tags=["hide-input"]
# check: ten times the steps, for noise 1.5 and 2
patient = torch.full((2, chains), -0.27, dtype=torch.float64)
for _ in range(10):
    patient = noisy_descent(patient, sigmas[1:3, None], 0.05, 500, rng)[-1]
arrived = (patient > hill).double().mean(dim=1)
assert abs(arrived[0] - 0.35) < error and arrived[1] > 0.98
assert arrived[0] > end[0, 1] + error / 2

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.8))
x = torch.linspace(-1, 2, 301, dtype=torch.float64)
d2l.plot(x, f(x), xlabel="$x$", ylabel="$f(x)$", ax=left)
for k, mark, size, color in ((2, "o", 4, "C2"), (0, "^", 9, "black")):
    ends = runs[-1, 0, k, :60]
    left.plot(ends, f(ends), mark, ms=size, alpha=0.6, color=color,
              label=rf"$\sigma={sigmas[k]:g}$")
left.legend()
d2l.plot(range(501), deep[:, 0].T, [rf"$\sigma={s:g}$" for s in sigmas],
         xlabel="step", ylabel="share in the deep valley", ax=right)
d2l.describe(fig, """Left, the curve x cos pi x from -1 to 2 with a shallow
    valley near -0.27 and a deep one near 1.09. The chains without noise lie
    at the shallow minimum, those with noise 2 are spread over both valleys.
    Right, the share of chains in the deep valley against steps: 0 without
    noise, a few per cent at noise 1.5, about half at 2 and most at 2.5.""")

# %% [markdown]
# **Figure 12.1.2.** Left: where chains that start in the shallow valley are after 500 steps, without and with noise.
# Right: the share of the chains beyond the hill between the valleys.
#
# Noise does help here, and how soon depends steeply on its level: after 500 steps the share in the deep valley grows from a few per cent at $\sigma=1.5$ to the large majority at 2.5.
# More steps help, too: after ten times as many, $\sigma=1.5$ has brought a third across, and $\sigma=2$ nearly all.
# Of the chains that start deep nearly all stay; from their side the hill is more than three times as high.
# The price: while the noise lasts, nobody rests at a minimum.
# Without it, 200 more steps bring every chain to the bottom of its valley, which is what a decaying learning rate is for ([Section 12.11](11-lr-scheduling.ipynb)).
# Our noise is the same everywhere; that of minibatches changes from place to place ([Section 12.4](04-sgd.ipynb)).

# %% [markdown]
# ## Stationary points and the Hessian
#
# A point where the gradient is zero is called *stationary*, and gradient descent that starts there stays there.
# It need not be a minimum.
# In one dimension, $x^3$ is stationary at 0, rising before and after.
# In two, $x^2-y^2$ has a minimum along $x$ and a maximum along $y$: a *saddle point*.
# Near a stationary point $\mathbf{x}$ the function is almost a quadratic in the displacement $\mathbf{u}$,
#
# $$f(\mathbf{x}+\mathbf{u})=f(\mathbf{x})+\tfrac12\,\mathbf{u}^\top\mathbf{H}\,\mathbf{u}+O(\|\mathbf{u}\|^3)=f(\mathbf{x})+\tfrac12\sum_{i=1}^{d}\lambda_i c_i^2+O(\|\mathbf{u}\|^3), \tag{12.1.3}$$
#
# where $\mathbf{H}=\nabla^2f(\mathbf{x})$, of shape $(d,d)$, is the *Hessian*, the matrix of second derivatives, here for a function with continuous third derivatives; $\lambda_i$ are its eigenvalues and $c_i$ the components of $\mathbf{u}$ along its orthonormal eigenvectors.
# So the signs of the eigenvalues decide, unless some are zero and all others agree; then higher derivatives matter.
#
# ![A decision tree. Is the gradient zero? No: the point is not stationary. Yes: look at the eigenvalues of the Hessian. All positive: minimum. All negative: maximum. Both signs: saddle point. Some zero and no two of opposite sign: undecided, third and higher derivatives matter. Below each case, two curves through the point.](img/optimization-stationary.svg)
#
# **Figure 12.1.3.** What the eigenvalues of the Hessian say about a stationary point, and the function along two eigenvectors (solid and dashed).

# %% tags=["export"]
def hessian_eigs(f, x):
    """Eigenvalues (d,) of the Hessian of f at x (d,), the smallest first.

    `f` maps a tensor (d,) to a number.
    """
    return torch.linalg.eigvalsh(torch.func.hessian(f)(x))

# %%
def classify(eigs, tol=1e-9):
    """What eigenvalues (d,) say; within `tol` of zero, one counts as 0."""
    down, up = (eigs < -tol).any(), (eigs > tol).any()
    if down and up:
        return "saddle"
    if (eigs.abs() <= tol).any():
        return "undecided"
    return "minimum" if up else "maximum"

# %%
examples = {"x^2 + 3y^2": lambda p: p[0]**2 + 3 * p[1]**2,
            "-x^2 - y^2": lambda p: -p[0]**2 - p[1]**2,
            "x^2 - y^2": lambda p: p[0]**2 - p[1]**2,
            "x^3": lambda p: p[0]**3,
            "x^2 + y^4": lambda p: p[0]**2 + p[1]**4,
            "x^2 + y^3": lambda p: p[0]**2 + p[1]**3,
            "x^2 - y^4": lambda p: p[0]**2 - p[1]**4}
verdicts = {}
for name, function in examples.items():
    origin = torch.zeros(2 if "y" in name else 1, dtype=torch.float64)
    eigs = hessian_eigs(function, origin)
    verdicts[name] = classify(eigs)
    print(f"{name:10} eigenvalues {str(eigs.tolist()):11} {verdicts[name]}")

# %%
# check 12.1-C4: a saddle has curvature of both signs
origin = torch.zeros(2, dtype=torch.float64)
saddle_eigs = hessian_eigs(examples["x^2 - y^2"], origin)
assert saddle_eigs.tolist() == [-2, 2]
assert hessian_eigs(examples["x^2 + 3y^2"], origin).tolist() == [2, 6]
assert list(verdicts.values()) == [
    "minimum", "maximum", "saddle"] + 4 * ["undecided"]
mixed = torch.tensor([-1.0, 0.0, 1.0])
assert classify(mixed) == "saddle"  # a zero does not undo two signs
assert classify(mixed, tol=1.0) == "undecided"
for pair in ([-2.0, 0.0], [-2.0, 1.0], [-1.0, 2.0], [1.0, 2.0]):
    assert classify(torch.tensor(pair), tol=1.0) == "undecided"

# %% [markdown]
# The last three functions have the same eigenvalues 0 and 2, and the first of them has a minimum, the other two have none: with a zero eigenvalue the test is silent.

# %% [markdown]
# ## How long a saddle holds
#
# The function
#
# $$s(x,y)=x^2-y^2+\tfrac12y^4 \tag{12.1.4}$$
#
# has a saddle at the origin and two minima at $y=\pm1$.
# Gradient descent with $\eta=0.1$ starts at $x=-1$ and at three distances $y_0$ from the ridge.

# %%
def saddle(p):
    return p[0]**2 - p[1]**2 + p[1]**4 / 2


descents = {y0: descend(saddle, (-1.0, y0), eta=0.1, steps=80)
            for y0 in (0.0, 1e-2, 1e-6)}

# %% tags=["hide-input"]
axis = torch.linspace(-1.3, 1.3, 53, dtype=torch.float64)
mesh = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))
fig = plt.figure(figsize=(4.6, 3.4))
ax = fig.add_subplot(projection="3d")
ax.plot_surface(*mesh, saddle(mesh), cmap="Blues", alpha=0.6, rcount=26,
                ccount=26)
for y0, fmt in ((0.0, "s-"), (1e-2, "o-")):
    points = descents[y0][:40]
    ax.plot(*points.T, saddle(points.T) + 0.03, fmt, ms=3, zorder=5,
            color="C1" if y0 else "black", label=f"$y_0={y0:g}$")
ax.set(xlabel="$x$", ylabel="$y$", zlabel="$s$")
ax.view_init(elev=35, azim=-60)
ax.legend(loc="upper left")
d2l.describe(fig, """A saddle-shaped surface that bends up along x and down
    along y to a minimum on either side. A path on the ridge stops at the
    saddle point; a path that starts a little beside it runs to the saddle,
    turns, and descends to the minimum at y = 1.""")

# %% [markdown]
# **Figure 12.1.4.** Two descents on (12.1.4): the one on the ridge is stuck, the other escapes.

# %% tags=["hide-input"]
def draw(fig, start, step):
    ax = fig.subplots()
    ax.contour(*mesh, saddle(mesh), levels=7, colors="#999999",
               linewidths=0.7, linestyles="-")
    ax.grid(False)
    y0 = 0.0 if start == "on the ridge" else float(start)
    points = descents[y0][:int(step) + 1]
    ax.plot(*points.T, "o-", ms=3, color="C1")
    ax.plot(*points[-1], "o", ms=7, color="C0")
    ax.set(xlabel="$x$", ylabel="$y$",
           title=f"step {step:g}, $s$ = {saddle(points[-1]):.3f}")
    ax.set_aspect("equal")


d2l.sliders(draw, """Contours of the saddle function with the path of gradient
    descent up to the chosen step. It first runs along x to the saddle point
    at the origin, then, unless it started on the ridge, along y to a
    minimum.""", figsize=(2.9, 2.3),
            start=["on the ridge", "0.01", "1e-6"],
            step=[0, 5, 15, 25, 50, 75])

# %% [markdown]
# **Figure 12.1.5.** Move the start and the step.
# From a start close to the ridge, the loss hardly changes for dozens of steps; then the path leaves within a few.
#
# The waiting time can be computed.
# Close to the saddle, the gradient along an eigenvector of eigenvalue $-\lambda$ is $-\lambda y$, so each step multiplies $y$ by $1+\eta\lambda$.
# From distance $y_0$ to distance $r$ it takes
#
# $$T\approx\frac{\log(r/|y_0|)}{\log(1+\eta\lambda)} \tag{12.1.5}$$
#
# steps, where $r$ is still small enough for the quadratic to hold.
# Here $\lambda=2$ and $\eta=0.1$, a factor of 1.2 per step: each factor of 100 in the distance costs $\log100/\log1.2\approx25$ steps.
# That is the good news: time grows only with the logarithm of the inverse distance.
#
# Noise can play the part of the distance.
# With noise of standard deviation $\sigma$ in each gradient, a start *exactly* on the ridge leaves it too.
# In the quadratic approximation $y$ after $t$ steps is normal with mean 0 and variance
#
# $$\operatorname{Var}(y_t)=(\eta\sigma)^2\sum_{k=0}^{t-1}(1+\eta\lambda)^{2k}=(\eta\sigma)^2\,\frac{(1+\eta\lambda)^{2t}-1}{(1+\eta\lambda)^2-1}, \tag{12.1.6}$$
#
# and the median of $|y_t|$ is 0.6745 standard deviations; setting it equal to $r$ gives a time that grows with $\log(1/\sigma)$.

# %%
def saddle_escape(y0, eta, sigma=0.0, generator=None, limit=1000):
    """Steps of descent on (12.1.4) until |y| >= 0.5, for starts y0 (n,).

    `sigma` is the noise in each gradient. A start that has not escaped
    after `limit` steps gets `limit`.
    """
    y = torch.as_tensor(y0, dtype=torch.float64)
    steps = torch.zeros_like(y)
    inside = y.abs() < 0.5
    for _ in range(limit):
        steps += inside
        noise = torch.randn(y.shape, generator=generator, dtype=y.dtype)
        y = y - eta * (2 * y**3 - 2 * y + sigma * noise)
        inside = inside & (y.abs() < 0.5)
    return steps

# %%
distances = [1e-2, 1e-4, 1e-6, 1e-8]
by_start = saddle_escape(distances, eta=0.1)
levels = [1e-1, 1e-3, 1e-5, 1e-7]
rng = torch.Generator().manual_seed(0)
ridge = torch.zeros(chains)
by_noise = torch.stack([saddle_escape(ridge, 0.1, sigma, rng, limit=300)
                        for sigma in levels])  # (4, chains)
stuck = saddle_escape([0.0], eta=0.1)
print("steps from y0:", by_start.tolist(), " on the ridge:", stuck.tolist())

# %%
# check 12.1-C6: 25 more steps for each factor of 100; the control stays
assert by_start.tolist() == [23, 48, 73, 98]
assert saddle_escape([0.5, -1e-4], eta=0.1).tolist() == [0, 48]
outside = saddle_escape(torch.full((100,), -0.5), 0.1, 10.0, rng, limit=20)
assert (outside == 0).all()  # who has left does not come back
assert saddle_escape([0.0, 0.1], eta=0.1, limit=7).tolist() == [7, 7]
state = torch.get_rng_state()  # all noise comes from the generator
pair = [saddle_escape(ridge[:9], 0.1, 0.1, torch.Generator().manual_seed(1))
        for _ in range(2)]
assert torch.equal(*pair) and torch.equal(state, torch.get_rng_state())
assert stuck.tolist() == [1000] and (descents[0.0][:, 1] == 0).all()
escaped = descents[1e-2][:, 1].abs() >= 0.5  # the path in two dimensions
assert escaped.tolist().index(True) == 23
assert (descents[1e-2][-1] - torch.tensor([0, 1])).abs().max() < 1e-4
factor = saddle_escape([1e-2, 1e-4], eta=0.02)  # another rate
assert abs(factor.diff() - math.log(100) / math.log(1.04)) < 1

# %%
growth = 1 + 0.1 * 2
theory_start = [math.log(0.5 / y0) / math.log(growth) for y0 in distances]
theory_noise = [  # (12.1.6) solved for t, with the median equal to 0.5
    math.log1p((0.5 / 0.6745 / (0.1 * s))**2 * (growth**2 - 1))
    / (2 * math.log(growth)) for s in levels]
medians = by_noise.median(dim=1).values
for measured, theory in ((by_start, theory_start), (medians, theory_noise)):
    late = measured - torch.tensor(theory)
    print("measured minus theory:", [round(v, 1) for v in late.tolist()])
    assert (late >= 0).all() and (late < 3).all()
assert by_noise.max() < 300  # every chain has left

# %% tags=["hide-input"]
lower, upper = by_noise.quantile(torch.tensor([0.05, 0.95],
                                              dtype=torch.float64), dim=1)
ax = d2l.plot([distances, levels], [theory_start, theory_noise],
              ["start $y_0$: (12.1.5)", r"noise $\sigma$: (12.1.6)"],
              xscale="log", xlabel=r"distance $y_0$, or noise $\sigma$",
              ylabel="steps until $|y|\\geq0.5$")
ax.plot(distances, by_start, "o", color="C0", label="measured")
ax.errorbar(levels, medians, torch.stack((medians - lower, upper - medians)),
            fmt="s", color="C1", capsize=3, label="measured, 5 to 95 %")
ax.legend()
d2l.describe(ax, """Escape time against the distance of the start and against
    the noise, on a logarithmic axis. Both fall on straight lines with the
    same slope, 25 steps for each factor of 100; the measured points lie on or
    just above the lines of the theory.""")

# %% [markdown]
# **Figure 12.1.6.** Steps to leave the saddle, measured and by theory; bars hold 90 % of the noisy chains.
#
# Measured times lie at most three steps above the theory: they are rounded up to whole steps, and $\frac12y^4$ flattens the slope a little before $|y|=0.5$.
# Gradient descent from a random start almost surely does not end at a saddle whose Hessian has a negative eigenvalue, if the step is small enough (Lee and others, 2016).
# That says nothing about time: there are smooth functions on which it passes one saddle after another and needs time exponential in the dimension, while with added noise polynomial time suffices (Du and others, 2017).

# %% [markdown]
# ## Are there more saddles in high dimension?
#
# A minimum needs *all* $d$ eigenvalues positive.
# If the Hessian at a stationary point were a random symmetric matrix, how often would that happen?
# We draw matrices of the *Gaussian orthogonal ensemble*: $\mathbf{A}=\mathbf{G}+\mathbf{G}^\top$ with independent standard normal entries in $\mathbf{G}\in\mathbb{R}^{n\times n}$.
# A symmetric matrix has only positive eigenvalues exactly if its Cholesky factorization succeeds, so we need no eigenvalues.

# %%
def positive_definite_rate(n, trials, seed=0):
    """The share of random symmetric n x n matrices with all eigs > 0."""
    rng = torch.Generator().manual_seed(seed)
    G = torch.randn(trials, n, n, generator=rng, dtype=torch.float64)
    failed = torch.linalg.cholesky_ex(G + G.mT).info
    return (failed == 0).double().mean().item()

# %%
rates = [positive_definite_rate(n, trials) for n in range(1, 6)]
print("share with only positive eigenvalues:",
      [float(f"{rate:.2g}") for rate in rates])

# %% [markdown]
# For $n=2$ the answer is a picture.
# With diagonal entries $a,c$ and off-diagonal entry $b$, both eigenvalues are positive if $a+c>0$ and $ac>b^2$.
# In the independent normal variables $u=(a+c)/\sqrt2$, $v=(a-c)/\sqrt2$ and $w=\sqrt2\,b$, all of one variance, the condition reads $u>\sqrt{v^2+w^2}$: a cone with half-angle $45°$, which fills the share $\frac12(1-\cos45°)=\frac{2-\sqrt2}4$ of all directions.
# For $n=3$ it is $\frac{\pi-2\sqrt2}{4\pi}$, and for large $n$ Dean and Majumdar (2006) found
#
# $$\log P(\lambda_{\min}>0)\approx-\frac{\log3}4\,n^2, \tag{12.1.7}$$
#
# where $P$ is the probability and $\lambda_{\min}$ the smallest eigenvalue.
# The exponent is quadratic, so $P$ is soon far below the $2^{-n}$ of independent signs; the eigenvalues of a random matrix are not independent but repel each other.

# %%
# check 12.1-C5: exact values for n = 1, 2, 3, and the measured fourth
exact = [1 / 2, (2 - math.sqrt(2)) / 4,
         (math.pi - 2 * math.sqrt(2)) / (4 * math.pi)]
for rate, p in zip(rates, exact + [0.0026]):
    error = 4 * math.sqrt(p * (1 - p) / trials)  # four standard errors
    assert abs(rate - p) < error + (1e-4 if p == 0.0026 else 0)
rng = torch.Generator().manual_seed(1)
G = torch.randn(2000, 3, 3, generator=rng, dtype=torch.float64)
by_eigs = (torch.linalg.eigvalsh(G + G.mT)[:, 0] > 0)  # the same matrices
assert positive_definite_rate(3, 2000, seed=1) == by_eigs.double().mean()
# theory's curve: coefficient ln 3 / 4 of n^2, the rest fitted at n = 1, 2
a = math.log(3) / 4
b = math.log(exact[0] / exact[1]) - 3 * a
sizes = torch.arange(1, 6)
curve = exact[0] * torch.exp(-a * (sizes**2 - 1) - b * (sizes - 1))
assert abs(curve[2] / exact[2] - 1) < 0.01
assert abs(rates[3] / curve[3] - 1) < 0.1 + 4 / math.sqrt(curve[3] * trials)

# %% tags=["hide-input"]
ax = d2l.plot(sizes, [curve, 0.5**sizes],
              [r"(12.1.7) with a linear term", "independent signs, $2^{-n}$"],
              yscale="log", xlabel="size $n$",
              ylabel=r"$P(\lambda_{\min}>0)$", ylim=(3e-5, 1))
error = [4 * math.sqrt(rate / trials) for rate in rates]
ax.errorbar(sizes, rates, error, fmt="o", color="C4", capsize=3,
            label="measured")
ax.legend()
ax.set_xticks(sizes.tolist())
d2l.describe(ax, """The probability that a random symmetric matrix has only
    positive eigenvalues falls from a half at size 1 to about one in ten
    thousand at size 5, ever more steeply; the measured points lie on the
    curve of the theory, far below two to the minus n.""")

# %% [markdown]
# **Figure 12.1.7.** The share of random matrices without a negative eigenvalue (bars: four standard errors).
# The curve has the coefficient $\frac{\log3}4$ of theory; its linear term is fitted at $n=1$ and 2, the other sizes are a test.

# %% [markdown]
# ## The Hessian of a network is no random matrix
#
# With the theory of random matrices, and with experiments on networks, Dauphin and others (2014) argued that saddle points rather than local minima are the main obstacle in high dimension.
# The probability just measured must not be carried over to networks, though: their Hessians are built from data and weights.
# We compute all eigenvalues for a network with 64 inputs, 8 tanh units and 10 outputs on images of digits, before and after 300 full-batch steps of Adam ([Section 12.10](10-adam.ipynb)), three seeds.
# Its $8\cdot64+8+10\cdot8+10=610$ parameters are kept in one vector.

# %%
digits = load_digits()
X = torch.tensor(digits.data[:images] / 16)  # (images, 64), double
y = torch.tensor(digits.target[:images])
shapes = [(8, 64), (8,), (10, 8), (10,)]


def unflatten(theta):
    """Split theta (610,) into W1 (8, 64), b1, W2 (10, 8), b2."""
    parts = theta.split([math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes)]


def outputs(theta):
    W1, b1, W2, b2 = unflatten(theta)
    return torch.tanh(X @ W1.T + b1) @ W2.T + b2  # (images, 10)


def digit_loss(theta):
    return F.cross_entropy(outputs(theta), y)

# %%
def start(seed):
    """Weights N(0, 1 / inputs), biases 0, as one vector (610,)."""
    rng = torch.Generator().manual_seed(seed)
    return torch.cat([
        torch.randn(shape, generator=rng, dtype=X.dtype).flatten()
        / shape[1]**0.5 if len(shape) == 2
        else torch.zeros(shape, dtype=X.dtype) for shape in shapes])


def train(theta, steps=300, lr=0.03):
    theta = theta.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        digit_loss(theta).backward()
        optimizer.step()
    return theta.detach()

# %% tags=["chaotic"]
before = [start(seed) for seed in range(3)]
after = [train(theta) for theta in before]
spectra = {name: [hessian_eigs(digit_loss, theta) for theta in thetas]
           for name, thetas in (("before", before), ("after", after))}
for name, thetas in (("before", before), ("after", after)):
    for theta, eigs in zip(thetas, spectra[name]):
        size = torch.func.grad(digit_loss)(theta).norm()
        print(f"{name:6}  loss {digit_loss(theta):.3f}  gradient {size:.3f}"
              f"  eigenvalues {eigs[0]:.4f} to {eigs[-1]:.2f}")

# %% [markdown]
# For comparison we draw one more random matrix of the same size, and shift and scale it to the mean and variance of the eigenvalues after training.

# %%
rng = torch.Generator().manual_seed(2)
G = torch.randn(610, 610, generator=rng, dtype=torch.float64)
control = torch.linalg.eigvalsh(G + G.T)
trained = spectra["after"][0]
control = trained.mean() + trained.std() * (
    control - control.mean()) / control.std()


def negative_share(eigs):
    """The share of eigenvalues below zero by more than rounding."""
    return (eigs < -1e-6 * eigs[-1]).double().mean().item()

# %%
assert [theta.shape for theta in before] == 3 * [(610,)]
for theta, scale in zip(unflatten(before[0]), (1 / 8, 0, 8**-0.5, 0)):
    assert abs(theta.std() - scale) <= 0.25 * scale
assert not torch.equal(before[0], before[1])
for old, new in zip(spectra["before"], spectra["after"]):
    assert 0.3 < negative_share(old) < 0.4
    assert 0 < negative_share(new) < 0.1
    assert -old[0] > 0.1 * old[-1]  # downhill directions of real size
    assert -new[0] < 0.005 * new[-1]
torch.testing.assert_close(control.mean(), trained.mean())
torch.testing.assert_close(control.std(), trained.std())
assert negative_share(control) > 0.4 and -control[0] > 0.5 * control[-1]
for theta in after:
    assert digit_loss(theta) < 0.025
    if images <= 600:  # with all 1797, a few may still be wrong
        assert (outputs(theta).argmax(dim=1) == y).all()
        doubled = torch.cat([theta[:-90], 2 * theta[-90:]])  # W2 and b2
        assert digit_loss(doubled) < digit_loss(theta) / 10
    assert all((part != 0).all() for part in unflatten(theta)[1:])
    assert torch.func.grad(digit_loss)(theta).norm() < 0.02

# %% tags=["hide-input", "chaotic"]
fig, ax = plt.subplots()
for eigs, fmt, color in [*((e, "--", "C1") for e in spectra["before"]),
                         *((e, "-", "C0") for e in spectra["after"]),
                         (control, ":", "black")]:
    name = {"C1": "before", "C0": "after training"}.get(color, "random")
    first = name not in [line.get_label() for line in ax.lines]
    ax.plot(range(610), eigs, fmt, color=color, lw=1.3,
            label=name if first else None)
ax.set_yscale("symlog", linthresh=1e-4)
ax.set(xlabel="rank", ylabel="eigenvalue")
ax.legend()
d2l.describe(ax, """The 610 sorted eigenvalues of the Hessian. Before training
    about a third are negative, down to nearly -1. After training few are
    negative, all small, and most are close to zero with some large positive
    ones at the end. The random matrix with the same mean and variance has
    nearly half of them negative.""")

# %% [markdown]
# **Figure 12.1.8.** All eigenvalues of the Hessian, three seeds, and of a random matrix with the mean and variance of the first spectrum after training; the axis is logarithmic above $10^{-4}$ and below $-10^{-4}$.
#
# Before training about a third of the eigenvalues are negative, and some are large.
# After training less than a tenth are, each smaller in size than half a per cent of the largest eigenvalue, while over 40 % of the eigenvalues of the random matrix are negative.
# The gradient is small by then but not zero: this is a nearly flat floor that still slopes down.
# It has no lowest point, since all images are classified correctly and larger weights in the last layer only make the network surer: doubling them divides the loss by more than ten.
# A bulk near zero with few large eigenvalues is also what Sagun and others (2017) report.
#
# Some zeros can be predicted.
# The weight of a pixel that is blank in all images has no effect, whatever its value.
# Nor has a number added to all ten outputs, which softmax ignores.

# %%
blank = (X == 0).all(dim=0).nonzero()[:, 0].tolist()
flat = []
for unit, pixel in itertools.product(range(8), blank):
    direction = torch.zeros(610, dtype=X.dtype)
    unflatten(direction)[0][unit, pixel] = 1
    flat.append(direction)
for unit in range(9):  # a column of W2, or the bias b2
    direction = torch.zeros(610, dtype=X.dtype)
    _, _, W2, b2 = unflatten(direction)
    (W2[:, unit] if unit < 8 else b2).fill_(1)
    flat.append(direction)
flat = torch.stack(flat)  # one direction per row
print(f"{len(blank)} blank pixels and 9 shifts of the outputs: "
      f"{len(flat)} flat directions")

# %%
def hessian_products(theta, directions):
    """Hessian times each of the directions (k, 610)."""
    return torch.func.vmap(lambda v: torch.func.jvp(
        torch.func.grad(digit_loss), (theta,), (v,))[1])(directions)


other = torch.eye(610, dtype=X.dtype)[[84, 515, 530, 605]]  # no flat ones
gradients = torch.func.vmap(torch.func.grad(digit_loss))
for theta, eigs in zip(before + after, spectra["before"] + spectra["after"]):
    assert hessian_products(theta, flat).abs().max() < 1e-12
    torch.testing.assert_close(  # against differences of gradients
        hessian_products(theta, other), (
            gradients(theta + 1e-5 * other)
            - gradients(theta - 1e-5 * other)) / 2e-5, rtol=1e-5, atol=1e-8)
    assert (hessian_products(theta, other).norm(dim=1) > 1e-4).all()
    assert (eigs.abs() < 1e-12).sum() >= len(flat)
assert torch.linalg.matrix_rank(flat) == len(flat) == 8 * len(blank) + 9
assert len(blank) >= 3

# %% [markdown]
# Every network that ends in a dense layer with softmax and is trained on the loss alone has zeros of the second kind.
# So at its stationary points the eigenvalues may reveal a saddle, but never prove a minimum.
# Weight decay changes this.
# Add $10^{-3}\|\boldsymbol\theta\|^2$, where $\boldsymbol\theta$ is the vector of all parameters: larger weights no longer pay, and the flat directions bend upwards.

# %% tags=["chaotic"]
def decayed_loss(theta):
    return digit_loss(theta) + 1e-3 * theta.square().sum()


bowl = after[0].clone().requires_grad_()
optimizer = torch.optim.LBFGS([bowl], max_iter=2000, tolerance_grad=1e-9,
                              tolerance_change=0, history_size=50,
                              line_search_fn="strong_wolfe")


def closure():
    optimizer.zero_grad()
    value = decayed_loss(bowl)
    value.backward()
    return value


optimizer.step(closure)
bowl = bowl.detach()
bowl_eigs = hessian_eigs(decayed_loss, bowl)
print(f"eigenvalues {bowl_eigs[0]:.5f} to {bowl_eigs[-1]:.2f}")

# %%
assert torch.func.grad(decayed_loss)(bowl).norm() < 1e-6
assert classify(bowl_eigs, tol=1e-5) == "minimum"
assert hessian_products(bowl, flat).abs().max() < 1e-12  # loss alone
assert digit_loss(bowl) > 5 * digit_loss(after[0])  # the price

# %% [markdown]
# The gradient is zero to six decimals and all 610 eigenvalues are clearly positive: this *is* a minimum, of the loss with the penalty.
# Bad local minima are not excluded either: ReLU networks with 6 to 20 units trained with the squared loss can have them, even if the targets come from a network of the same kind; a few additional units make them much rarer (Safran and Shamir, 2018).

# %% [markdown]
# ## Plateaus: vanishing gradients
#
# An optimizer can also be slow where nothing is stationary.
# Suppose that we minimize $\tanh(x)$, which has no stationary point at all, and start at $x=4$.
# The derivative is $1-\tanh^2(4)\approx0.0013$, and a step of gradient descent hardly moves.
# If the steps are small, to cross a short stretch $dx$ takes $dx/(\eta\tanh'(x))$ of them.
# With $\tanh'(x)=4/(e^x+e^{-x})^2$ that adds up to
#
# $$T\approx\frac1\eta\int_0^{x_0}\frac{(e^x+e^{-x})^2}4\,dx=\frac1\eta\left(\frac{x_0}2+\frac{e^{2x_0}-e^{-2x_0}}8\right) \tag{12.1.8}$$
#
# steps from $x_0>0$ to the steepest place, 0.
# This time grows *exponentially* with the distance, unlike that of a saddle.

# %%
x0s = [2.0, 3.0, 4.0]
rate = 0.2
plateaus = [descend(torch.tanh, x0, rate, steps=2000) for x0 in x0s]
times = [(path > 0).sum().item() for path in plateaus]
theory = [(x0 / 2 + math.sinh(2 * x0) / 4) / rate for x0 in x0s]
print("steps to x = 0:", times, " theory:", [round(t) for t in theory])

# %%
# check 12.1-C3: the slope of tanh at 4, and the time it costs
slope_at_4 = torch.func.grad(torch.tanh)(torch.tensor(4.0).double()).item()
assert abs(slope_at_4 - 0.00134095) < 1e-8
assert abs(slope_at_4 - (1 - math.tanh(4)**2)) < 1e-12
for measured, expected in zip(times, theory):
    assert 0 <= measured - expected < 5

# %% tags=["hide-input"]
ax = d2l.plot(range(1, 2001), [torch.tanh(path[1:]) for path in plateaus],
              [f"from $x_0={x0:g}$" for x0 in x0s], xscale="log",
              xlabel="step", ylabel=r"$\tanh(x)$")
ax.plot(theory, [0, 0, 0], "ko", label="(12.1.8)")
ax.legend()
d2l.describe(ax, """The loss tanh x stays near 1 and then drops to -1. The drop
    comes after some 40 steps from 2, 260 from 3 and 1900 from 4, where the
    theory puts a dot on each curve.""")

# %% [markdown]
# **Figure 12.1.9.** Gradient descent on $\tanh$ with $\eta=0.2$: a plateau, then a drop, at the time of (12.1.8).
#
# A loss that does not move looks the same on a plateau, at a saddle and in a minimum.
# The remedies were the subject of earlier chapters: activations that do not saturate ([Section 5.1](../05-multilayer-perceptrons/01-multilayer-perceptrons.ipynb)), initial weights of the right scale ([Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb)), normalization ([Section 8.5](../08-modern-cnns/05-batch-norm.ipynb)), and reparametrization, such as residual blocks, whose shortcut keeps a path open for the gradient ([Section 8.6](../08-modern-cnns/06-resnet.ipynb)).

# %% [markdown]
# ## Every minimum has copies
#
# Exchange two hidden units together with all their weights, and the network computes the same function.
# Because $\tanh(-z)=-\tanh z$, we may also change the sign of everything that enters a unit and of what leaves it.
# With $d$ hidden units there are $d!$ orders and $2^d$ choices of signs.
# If no unit has only zero weights and no two are equal up to sign, all these parameter vectors differ, so one minimum has
#
# $$d!\;2^d \tag{12.1.9}$$
#
# copies with exactly the same loss (Chen, Lu and Hecht-Nielsen, 1993).
# The minimum that we found with weight decay has more than ten million, since the penalty does not see the order and the signs either.
# The networks trained on the loss alone have as many copies, though they are not at a minimum.

# %%
def symmetric_copy(theta, order, signs):
    """Reorder the hidden units of theta and multiply them by `signs`."""
    W1, b1, W2, b2 = unflatten(theta)
    return torch.cat([(W1[order] * signs[:, None]).flatten(),
                      b1[order] * signs, (W2[:, order] * signs).flatten(),
                      b2])


signs = torch.tensor([1, -1], dtype=torch.float64).repeat(4)  # (8,)
copies = [symmetric_copy(theta, torch.arange(8).roll(1), signs)
          for theta in after]
twin = symmetric_copy(bowl, torch.arange(8).roll(1), signs)

# %%
# check 12.1-C7: another vector, the same function
for theta, copied in zip(after, copies):
    torch.testing.assert_close(outputs(copied), outputs(theta), rtol=0,
                               atol=1e-12)
    assert (theta - copied).norm() > 0.5 * theta.norm()
    W1, W1_copy = unflatten(theta)[0], unflatten(copied)[0]
    assert torch.equal(W1_copy[:2], torch.stack((W1[7], -W1[0])))
torch.testing.assert_close(decayed_loss(twin), decayed_loss(bowl))
for theta in [bowl, *after]:
    W1, b1, W2, _ = unflatten(theta)
    units = torch.cat([W1, b1[:, None], W2.T], dim=1)  # (8, 75)
    for sign in (1, -1):  # no two equal up to sign, and none is zero
        distance = torch.cdist(units, sign * units)
        assert (distance + (sign + 1) * torch.eye(8) > 0.1).all()
half_done = symmetric_copy(after[0], torch.arange(8), signs)
half_done[-90:] = after[0][-90:]  # the signs of W2 forgotten
assert (outputs(half_done) - outputs(after[0])).abs().max() > 1
assert math.factorial(8) * 2**8 > 10_000_000

# %% [markdown]
# Are the copies separate valleys?
# We walk in a straight line from a trained network to its copy, and to a network from another seed.

# %%
shares = torch.linspace(0, 1, 41, dtype=torch.float64)


def along_line(a, b):
    """The loss (41,) on the straight line from a to b."""
    return torch.func.vmap(digit_loss)(torch.lerp(a, b, shares[:, None]))


to_copy = [along_line(a, b) for a, b in zip(after, copies)]
to_other = [along_line(after[k], after[k - 1]) for k in range(3)]

# %%
for lines in (to_copy, to_other):
    for k, line in enumerate(lines):
        torch.testing.assert_close(line[0], digit_loss(after[k]))
        assert line.max() > 20 * line[[0, -1]].max()
for line, copied in zip(to_copy, copies):
    torch.testing.assert_close(line[-1], digit_loss(copied))
    torch.testing.assert_close(line[-1], line[0])

# %% tags=["hide-input", "chaotic"]
fig, ax = plt.subplots()
for lines, fmt, color, name in ((to_copy, "-", "C0", "its own copy"),
                                (to_other, "--", "C1", "another seed")):
    for k, line in enumerate(lines):
        ax.plot(shares, line, fmt, color=color, label=None if k else name)
ax.set(xlabel="share of the way", ylabel="training loss")
ax.legend()
d2l.describe(ax, """The training loss on six straight lines between trained
    networks: near zero at both ends, and a hill in the middle for the copies
    as well as for networks from other seeds.""")

# %% [markdown]
# **Figure 12.1.10.** The loss between trained networks, three lines to its own copy and three between seeds.
#
# On all six lines the loss rises to more than twenty times its values at the ends.
# But a straight line is only one way.
# Garipov and others (2018) and Draxler and others (2018) found *curves* of nearly constant loss between separately trained networks that classify CIFAR images; this is called *mode connectivity*.
# After the units of one have been put in the order of the other, some networks can even be joined by a straight line without a barrier (Ainsworth and others, 2023); Exercise 12.1-5 tries it on ours.

# %% [markdown]
# ## Summary
#
# - Optimization lowers the empirical risk, learning needs a low risk; past a point, a better optimizer can mean a worse model.
# - Eigenvalues of the Hessian tell minimum, maximum and saddle apart at a stationary point; a zero eigenvalue with no two opposite signs leaves it open, and networks have many zeros for known reasons, which weight decay removes.
# - Descent leaves a saddle of curvature $-\lambda$ in a time that grows with the logarithm of the inverse distance or of the inverse noise; on a plateau of tanh the time grows exponentially with the distance.
# - For random symmetric matrices the chance of only positive eigenvalues falls like $e^{-\frac{\log3}4n^2}$ for large $n$; the Hessian of a trained network is no such matrix.
# - Noise can carry an optimizer out of a shallow valley, after a wait that depends steeply on its level, and keeps it from settling in a deep one.
# - A layer of $d$ tanh units, none zero and no two equal up to sign, gives a minimum $d!\,2^d$ copies with the same loss.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.1-1
#
# A network with one input, $d=3$ tanh units and one output has a minimum.
# How many equivalent minima are there?
# Count distinct parameter vectors by program, also for a network in which two units are equal, and for one with a unit whose weights are all zero.

# %% [markdown]
# #### Solution 12.1-1

# %% [markdown]
# There are $3!\cdot2^3=48$.
# If two units are equal, exchanging them changes nothing: half of the 48 remain.
# A unit that is zero looks the same with either sign: again half.

# %%
def count_copies(units):
    """Distinct orders and signs of units (d, 3): weights in, bias, out."""
    found = {tuple((units[list(order)] * torch.tensor(signs)[:, None]
                    + 0.0).flatten().tolist())  # + 0.0: no -0.0
             for order in itertools.permutations(range(len(units)))
             for signs in itertools.product((1, -1), repeat=len(units))}
    return len(found)


rng = torch.Generator().manual_seed(0)
units = torch.randn(3, 3, generator=rng)
assert count_copies(units) == math.factorial(3) * 2**3 == 48
assert count_copies(units[[0, 0, 1]]) == 24
assert count_copies(units * torch.tensor([[1], [1], [0]])) == 24
assert count_copies(units[:2]) == 8

# %% [markdown]
# ### Exercise 12.1-2
#
# Show that the eigenvalues of a random matrix of the ensemble above, pooled over many draws, are distributed symmetrically about zero.
# Why does this not make $P(\lambda_{\min}>0)$ equal to $\frac12$?

# %% [markdown]
# #### Solution 12.1-2

# %% [markdown]
# $-\mathbf{G}$ has the same distribution as $\mathbf{G}$, so $-\mathbf{A}$ has the same as $\mathbf{A}$, and its eigenvalues are $-\lambda_i$.
# Hence an eigenvalue picked at random is positive with probability $\frac12$, and $P(\lambda_{\min}>0)=P(\lambda_{\max}<0)$.
# The symmetry concerns the whole set of eigenvalues; it says nothing about how often *all* are on one side, and for $n\ge2$ mostly some are on either side.

# %%
rng = torch.Generator().manual_seed(3)
G = torch.randn(20_000, 3, 3, generator=rng, dtype=torch.float64)
eigs = torch.linalg.eigvalsh(G + G.mT)  # (20000, 3)
levels_q = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
quantiles = eigs.flatten().quantile(levels_q)
all_up = (eigs[:, 0] > 0).double().mean().item()
all_down = (eigs[:, -1] < 0).double().mean().item()
print(f"positive {(eigs > 0).double().mean():.3f}, all positive "
      f"{all_up:.4f}, all negative {all_down:.4f}")
assert (quantiles + quantiles.flip(0)).abs().max() < 0.1
assert abs((eigs > 0).double().mean() - 0.5) < 0.01
error = 4 * math.sqrt(exact[2] / 20_000)
assert abs(all_up - exact[2]) < error and abs(all_down - exact[2]) < error

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.4, 2.6))
ax.hist(eigs.flatten().numpy(), bins=60, density=True, color="C0")
ax.set(xlabel="eigenvalue", ylabel="density")
d2l.describe(ax, """The histogram of the pooled eigenvalues of 3 by 3 random
    matrices is one broad hump, symmetric about zero.""")

# %% [markdown]
# ### Exercise 12.1-3
#
# The *monkey saddle* is $x^3-3xy^2$.
# What is its Hessian at 0, and what does it say?
# Gradient descent starts at $(-r,0)$; how does the time to reach $x=-0.5$ depend on $r$?

# %% [markdown]
# #### Solution 12.1-3

# %% [markdown]
# All second derivatives are of first order in $x$ and $y$, so the Hessian at 0 is zero, and the test is silent.
# Along the negative $x$-axis, $u=-x$ grows by $3\eta u^2$ per step, hence $T\approx\frac1{3\eta}\left(\frac1r-\frac1{0.5}\right)$.
# This time is proportional to $1/r$, not to its logarithm: without negative curvature the escape is slow.

# %%
def monkey(p):
    return p[0]**3 - 3 * p[0] * p[1]**2


origin = torch.zeros(2, dtype=torch.float64)
assert (torch.func.hessian(monkey)(origin) == 0).all()
assert classify(hessian_eigs(monkey, origin)) == "undecided"
assert hessian_eigs(monkey, torch.tensor([1.0, 0])).tolist() == [-6, 6]
for r, eta in ((0.05, 0.02), (0.01, 0.1)):
    path = descend(monkey, (-r, 0.0), eta, steps=500)
    measured = (path[:, 0] > -0.5).sum().item()
    expected = (1 / r - 1 / 0.5) / (3 * eta)
    print(f"r = {r}: {measured} steps, predicted {expected:.0f}")
    assert abs(measured / expected - 1) < 0.05

# %% [markdown]
# ### Exercise 12.1-4
#
# Move the start on the ridge of (12.1.4) once, by a normal random number with standard deviation $10^{-3}$, and add no other noise.
# Predict the median escape time for $\eta=0.1$ and test it.
# What share of the runs needs over 25 steps more than the median?

# %% [markdown]
# #### Solution 12.1-4

# %% [markdown]
# The median of $|y_0|$ is $0.6745\cdot10^{-3}$, and (12.1.5) with $r=0.5$ gives $\log(741)/\log1.2\approx36$ steps.
# Twenty-five more steps mean a start 100 times closer, and $|y_0|$ is below a hundredth of its median with probability $2\Phi(0.006745)-1\approx0.0054$, with $\Phi$ the normal distribution function.

# %%
rng = torch.Generator().manual_seed(4)
y0 = 1e-3 * torch.randn(200_000, generator=rng, dtype=torch.float64)
steps = saddle_escape(y0, eta=0.1, limit=150)
predicted = math.log(0.5 / 0.6745e-3) / math.log(1.2)
late = (steps > steps.median() + 25).double().mean().item()
print(f"median {steps.median():.0f}, predicted {predicted:.1f}, "
      f"late {late:.4f}")
assert 0 <= steps.median() - predicted < 3
chance = math.erf(0.006745 / math.sqrt(2))
error = 4 * math.sqrt(chance / 200_000)
assert chance / 1.1 - error < late < 1.1 * chance + error

# %% [markdown]
# ### Exercise 12.1-5
#
# Undo the symmetry before you walk: reorder the units of the second network, with signs, so that they resemble those of the first, by `scipy.optimize.linear_sum_assignment`.
# What becomes of the barriers of Figure 12.1.10?

# %% [markdown]
# #### Solution 12.1-5

# %% [markdown]
# Describe each unit by its vector of weights in, bias and weights out.
# The scalar product of two such vectors measures resemblance, its sign says whether to flip, and the assignment maximizes the sum of the magnitudes.
# For the network's own copy this finds the order again, and the two ends of the line coincide.
# Between seeds the highest loss on the line falls to less than a quarter of what it was: most of the hill came from the order and the signs of the units.

# %%
from scipy.optimize import linear_sum_assignment  # noqa: E402


def align(theta, reference):
    """The symmetric copy of theta that resembles `reference` most."""
    units = []
    for vector in (reference, theta):
        W1, b1, W2, _ = unflatten(vector)
        units.append(torch.cat([W1, b1[:, None], W2.T], dim=1))  # (8, 75)
    likeness = units[0] @ units[1].T  # (reference's units, theta's)
    rows, order = linear_sum_assignment(likeness.abs(), maximize=True)
    return symmetric_copy(theta, order, likeness[rows, order].sign())


aligned = []
for k in range(3):
    torch.testing.assert_close(align(copies[k], after[k]), after[k])
    moved = align(after[k - 1], after[k])
    torch.testing.assert_close(outputs(moved), outputs(after[k - 1]))
    assert (moved - after[k]).norm() < (after[k - 1] - after[k]).norm()
    aligned.append(along_line(after[k], moved).max())

# %% tags=["chaotic"]
for k, line in enumerate(to_other):
    print(f"highest loss on the line {line.max():.2f}, "
          f"aligned {aligned[k]:.2f}, at the ends {line[0]:.3f}")
    assert line[0] < aligned[k] < line.max() / 4

# %% [markdown]
# ## Sources
#
# - D. S. Dean and S. N. Majumdar, *Large deviations of extreme eigenvalues of random matrices*, Physical Review Letters 97 (2006), [doi:10.1103/PhysRevLett.97.160201](https://doi.org/10.1103/PhysRevLett.97.160201): the exponent of (12.1.7).
# - Y. N. Dauphin et al., *Identifying and attacking the saddle point problem in high-dimensional non-convex optimization*, NeurIPS 2014, [arXiv:1406.2572](https://arxiv.org/abs/1406.2572).
# - J. D. Lee et al., *Gradient descent converges to minimizers* (2016), [arXiv:1602.04915](https://arxiv.org/abs/1602.04915).
# - S. S. Du et al., *Gradient descent can take exponential time to escape saddle points*, NeurIPS 2017, [arXiv:1705.10412](https://arxiv.org/abs/1705.10412).
# - L. Sagun et al., *Empirical analysis of the Hessian of over-parametrized neural networks* (2017), [arXiv:1706.04454](https://arxiv.org/abs/1706.04454).
# - I. Safran and O. Shamir, *Spurious local minima are common in two-layer ReLU neural networks*, ICML 2018, [abstract](https://icml.cc/Conferences/2018/Schedule?showEvent=2033).
# - A. M. Chen, H. Lu and R. Hecht-Nielsen, *On the geometry of feedforward neural network error surfaces*, Neural Computation 5 (1993), [doi:10.1162/neco.1993.5.6.910](https://doi.org/10.1162/neco.1993.5.6.910): permutations and signs.
# - T. Garipov et al., *Loss surfaces, mode connectivity, and fast ensembling of DNNs*, NeurIPS 2018, [arXiv:1802.10026](https://arxiv.org/abs/1802.10026).
# - F. Draxler et al., *Essentially no barriers in neural network energy landscape*, ICML 2018, [arXiv:1803.00885](https://arxiv.org/abs/1803.00885).
# - S. K. Ainsworth, J. Hayase and S. Srinivasa, *Git Re-Basin: merging models modulo permutation symmetries*, ICLR 2023, [arXiv:2209.04836](https://arxiv.org/abs/2209.04836).
# - N. Muennighoff et al., *Scaling data-constrained language models*, NeurIPS 2023, [arXiv:2305.16264](https://arxiv.org/abs/2305.16264): how many passes over the data.
