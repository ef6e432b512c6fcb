# ---
# jupyter:
#   d2l:
#     data: [airfoil]
#     profiles:
#       gpu:
#         num_seeds: 3
#         chains: 2000
#       smoke:
#         num_seeds: 1
#         chains: 200
#     rehearsal:
#       chains: 0.5
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
# # 12.9 Adadelta
#
# Adadelta was presented in 2012 as a method that needs no manual tuning of a learning rate.
# Its argument is about physical units, and the argument has a gap: the small constant $\epsilon$.
# We find the learning rate that hides there, and then test the same claim on a method of today.
#
# **You will**
#
# - derive Adadelta from the units of its terms, and compare it with PyTorch's;
# - show by theory and by a sweep that $\epsilon$ sets the size of its steps;
# - run a method that estimates a distance instead, and find where its promise holds.
#
# **Cost**: less than a minute on a CPU, no use of a GPU, a download of 58 kB.

# %%
import math

import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.optimization import (
    Airfoil, on, sgd, show_trace_2d, train_2d, train_opt)

d2l.use_style()

# %% tags=["parameters"]
num_seeds = 3  # for each point of the sweep
chains = 2000  # of the stochastic problem at the end

# %% [markdown]
# ## Units
#
# Suppose $x$ is a length in metres and $f$ has no unit.
# The gradient then has the unit 1/m, so $x-\eta g$ adds metres to inverse metres, and $\eta$ must carry m² to mend it.
# Newton's step $g/f''$ has the unit of $x$ by itself.
# RMSProp's quotient $g/\sqrt s$ has no unit at all.
# Zeiler's repair multiplies it by a typical size of the recent steps, which is a length:
#
# $$\begin{aligned}\mathbf{s}_t&=\rho\,\mathbf{s}_{t-1}+(1-\rho)\,\mathbf{g}_t^2,&
# \mathbf{g}_t'&=\frac{\sqrt{\mathbf{d}_{t-1}+\epsilon}}{\sqrt{\mathbf{s}_t+\epsilon}}\odot\mathbf{g}_t,\\
# \mathbf{x}_t&=\mathbf{x}_{t-1}-\mathbf{g}_t',&
# \mathbf{d}_t&=\rho\,\mathbf{d}_{t-1}+(1-\rho)\,\mathbf{g}_t'^2,\end{aligned} \tag{12.9.1}$$
#
# with the gradient $\mathbf{g}_t$, the step $\mathbf{g}_t'$ and the parameters $\mathbf{x}_t$, all in $\mathbb{R}^d$, two leaky averages ([Section 12.8](08-rmsprop.ipynb)) $\mathbf{s}_0=\mathbf{d}_0=\mathbf{0}$, and $0<\rho<1$; everything is elementwise.
# Both states have the size of the parameters, so the method keeps two extra copies.
# PyTorch's version, with $\rho=0.9$ and $\epsilon=10^{-6}$ by default, also multiplies the step by `lr`, which is 1 by default.

# %%
def adadelta(params, grads, state, hyper):
    """One step of Adadelta, in place; "rho" (0.9), "eps" (1e-6), "lr" (1)."""
    rho, eps = hyper.get("rho", 0.9), hyper.get("eps", 1e-6)
    squares = state.setdefault("s", [torch.zeros_like(p) for p in params])
    moves = state.setdefault("d", [torch.zeros_like(p) for p in params])
    for p, g, s, d in zip(params, grads, squares, moves, strict=True):
        s.mul_(rho).add_((1 - rho) * g**2)
        move = (d + eps).sqrt() / (s + eps).sqrt() * g
        d.mul_(rho).add_((1 - rho) * move**2)
        p -= hyper.get("lr", 1.0) * move

# %%
# check 12.9-C1: own = torch.optim.Adadelta, for 50 given gradients
rng = torch.Generator().manual_seed(9)
grads = torch.randn(50, 4, generator=rng, dtype=torch.float64)
grads *= torch.tensor([1.0, 1e-3, 1e-6, 1e3])  # epsilon is seen, too
x = torch.zeros(4, dtype=torch.float64)
p = torch.nn.Parameter(x.clone())
for hyper in ({}, {"rho": 0.8, "eps": 1e-4, "lr": 0.5}):
    optimizer, state = torch.optim.Adadelta([p], **hyper), {}
    for g in grads:
        adadelta([x], [g], state, hyper)
        p.grad = g.clone()
        optimizer.step()
        torch.testing.assert_close(x, p.detach(), rtol=0, atol=1e-15)

# %% tags=["hide-input"]
def canyon(x):
    """0.1 x1^2 + 2 x2^2 for x (2,): curvatures 0.2 and 4."""
    return 0.1 * x[0] ** 2 + 2 * x[1] ** 2


def draw(fig, exponent, steps):
    path = train_2d(on(canyon, adadelta, eps=10**exponent), steps=int(steps))
    ax = show_trace_2d(canyon, {"": path}, fig.subplots())
    ax.set_title(rf"$\epsilon=10^{{{int(exponent)}}}$, steps: {int(steps)}",
                 fontsize=9)


d2l.sliders(draw, """The elliptic contours of a valley with the path of
    Adadelta from the lower left. The larger epsilon, the longer the steps
    and the further the path gets.""", figsize=(4.2, 2.6),
            exponent=[-6, -5, -4, -3, -2], steps=[20, 50, 100, 500])

# %% [markdown]
# **Figure 12.9.1.** Adadelta on $0.1x_1^2+2x_2^2$ with $\rho=0.9$: how far it gets in 20 steps is decided by $\epsilon$.

# %%
# check 12.9-C3: a slow start
path = train_2d(on(canyon, adadelta, eps=1e-5), steps=500)
for step, end in ((20, [-4.782488, -1.787589]), (500, [-0.05514, 0.01588])):
    torch.testing.assert_close(path[step], path.new_tensor(end), rtol=0,
                               atol=1e-5)

# %% [markdown]
# Is the unit argument right?
# Multiply $f$ by 1000, or measure $x$ in another unit, $x=cz$: nothing real has changed, so the paths should agree.

# %%
# check 12.9-C4: another unit of f, another unit of x
loud = train_2d(on(lambda x: 1000 * canyon(x), adadelta, eps=1e-5))
assert 0 < (loud - path[:21]).abs().max() < 1e-3
c = 1000.0
start = (-5 / c, -2 / c)
same_eps = c * train_2d(on(lambda z: canyon(c * z), adadelta, eps=1e-5), start)
scaled_eps = c * train_2d(
    on(lambda z: canyon(c * z), adadelta, eps=1e-5 / c**2), start)
print(f"same epsilon: paths differ by {(same_eps - path[:21]).abs().max():.0f}"
      f", epsilon / c^2: by {(scaled_eps - path[:21]).abs().max():.0e}")
assert (scaled_eps - path[:21]).abs().max() < 1e-3
assert (same_eps - path[:21]).abs().max() > 10

# %% [markdown]
# The unit of $f$ cancels, up to the $\epsilon$ in the denominator.
# The unit of $x$ does not, unless $\epsilon$ is converted like a squared length.
# So $\sqrt\epsilon$ in the numerator is the quantity with the unit of a step that the argument meant to do without.

# %% [markdown]
# ## The hidden step size
#
# Put numbers in.
# The first step is $\sqrt\epsilon\,|g|/\sqrt{(1-\rho)g^2+\epsilon}$, about $\sqrt{\epsilon/(1-\rho)}$ whatever the gradient: 0.0032 for the defaults.
# Let the gradient stay constant.
# Once $s_t\approx g^2\gg\epsilon$, (12.9.1) says $d_t=\rho d_{t-1}+(1-\rho)(d_{t-1}+\epsilon)$, thus
#
# $$d_t=d_{t-1}+(1-\rho)\,\epsilon,\qquad |g_t'|=\sqrt{d_{t-1}+\epsilon}, \tag{12.9.2}$$
#
# so the squared step grows by $(1-\rho)\epsilon$ per step.
# Steps therefore have the unit $\sqrt\epsilon$ and grow like $\sqrt t$ as long as the gradient keeps its size.

# %%
# check 12.9-C2: the first step, and the growth of the squared steps
def warmup_curve(eps, rho, steps, g=1.0):
    """Sizes (steps,) of the steps under a constant gradient g."""
    x, state, sizes = torch.zeros(1, dtype=torch.float64), {}, []
    for _ in range(steps):
        before = x.clone()
        adadelta([x], [torch.full_like(x, g)], state,
                 {"eps": eps, "rho": rho})
        sizes.append((before - x).item())
    return torch.tensor(sizes, dtype=torch.float64)


for g in (1.0, 2.0, 300.0):
    assert abs(warmup_curve(1e-6, 0.9, 1, g) - 0.0031623) < 1e-6
tiny = warmup_curve(1e-6, 0.9, 1, 1e-3)  # here epsilon is seen
assert abs(tiny - 1e-6 / math.sqrt(1e-7 + 1e-6)) < 1e-12
curves = {eps: warmup_curve(eps, 0.9, 1000)
          for eps in (1e-8, 1e-6, 1e-4, 1e-2)}
unit = {eps: curve / math.sqrt(eps) for eps, curve in curves.items()}
assert (unit[1e-4] / unit[1e-8] - 1).abs().max() < 0.01
assert unit[1e-2][-1] < 0.9 * unit[1e-8][-1]
for eps in (1e-8, 1e-6):
    squared = curves[eps] ** 2 / eps
    assert abs((squared[999] - squared[499]) / 500 - 0.1) < 1e-3
    first = warmup_curve(eps, 0.8, 1)[0] / math.sqrt(5 * eps)
    assert abs(first - 1) < 1e-5

# %% tags=["hide-input"]
t = torch.arange(1, 1001)
ax = d2l.plot(t, list(curves.values()),
              [rf"$\epsilon=10^{{{round(math.log10(eps))}}}$"
               for eps in curves], xlabel="step $t$",
              ylabel="size of the step", ylim=(2e-4, 60), xscale="log",
              yscale="log")
for eps, curve in curves.items():
    line = (eps * (0.1 * (t - 100)) + curve[99] ** 2).clamp(min=0).sqrt()
    ax.plot(t[99::100], line[99::100], "k.", ms=4)
d2l.describe(ax, """Step sizes against the step, both logarithmic: four
    curves of the same shape, flat and then rising, a factor 10 apart.""")

# %% [markdown]
# **Figure 12.9.2.** Step sizes under a constant gradient 1, $\rho=0.9$; dots continue step 100 by (12.9.2).
#
# The curves for $\epsilon\le10^{-4}$ differ by the factor $\sqrt\epsilon$ only, within 1 %.
# The one for $10^{-2}$ grows less: there $\epsilon$ is seen in the denominator.
# For $\epsilon\gg s_t$ and $d_t$ both roots are $\sqrt\epsilon$, and Adadelta is gradient descent with the rate 1.
#
# (12.9.2) does not ask for the sign of the gradient, so without noise the steps also grow where they lead nowhere: across a minimum.
# In the canyon RMSProp with a constant rate ends in a cycle of constant width; Adadelta's cycle widens like $\sqrt t$.

# %%
ends = {}
for eps in (1e-4, 1e-2):
    long = train_2d(on(canyon, adadelta, eps=eps), steps=8000)[:, 1]
    assert (long[-1] * long[-2]) < 0  # from side to side
    ends[eps] = [long[step].abs().item() for step in (2000, 8000)]
    print(f"eps {eps:g}: |x2| is {ends[eps][0]:.2f} after 2000 steps, "
          f"{ends[eps][1]:.2f} after 8000")
    assert abs(ends[eps][1] / ends[eps][0] - 2) < 0.15
    assert 0 < long[100:300].abs().min() < 1e-3  # it had been closer
assert abs(ends[1e-2][1] / ends[1e-4][1] - 10) < 1

# %% [markdown]
# ### Noise stops the growth
#
# Is this a built-in warm-up?
# Not where gradients are noisy.
# Let $r_t=g_t^2/s_t$, and let $s_t$ fluctuate about a level, so the mean of $\log(s_{t-1}/s_t)$ is 0.
# Without $\epsilon$, $s_{t-1}/s_t=(1-(1-\rho)r_t)/\rho$.
# The logarithm is concave, so this needs $E[r_t]\le1$, with equality only if $r_t$ does not vary, that is, for gradients of constant size.
# In $d_t=(\rho+(1-\rho)r_t)\,d_{t-1}+(1-\rho)r_t\epsilon$ the factor of $d_{t-1}$ then has a mean below 1 and a logarithm with a negative mean: $d$ forgets, and finds a level in proportion to $\epsilon$.

# %%
def noisy_sizes(mean, rho=0.9, steps=2000, eps=1e-6):
    """Root mean of (d + eps) / eps after each step; noise has sd 1."""
    rng = torch.Generator().manual_seed(2)
    x, state, sizes = torch.zeros(chains // 4).double(), {}, []
    for _ in range(steps):
        noise = torch.randn(len(x), generator=rng, dtype=torch.float64)
        adadelta([x], [mean + noise], state, {"eps": eps, "rho": rho})
        sizes.append((state["d"][0] / eps + 1).mean().sqrt().item())
    return sizes


levels = {}
for mean in (0.0, 1.0, 100.0):
    sizes = noisy_sizes(mean)
    levels[mean] = sum(sizes[1000:]) / 1000
    assert abs(sizes[0] - math.sqrt(2)) < 0.01  # d = eps after one step
    print(f"mean {mean:g}: after 100 steps {sizes[99]:.1f}, "
          f"1000 {sizes[999]:.1f}, 2000 {sizes[1999]:.1f}")
    if mean < 100:
        drift = sum(sizes[1800:]) / sum(sizes[400:600])
        assert abs(drift - 1) < 0.1  # a level
        assert levels[mean] < math.sqrt(10)
        assert 2.5 < levels[mean] < 3.5
    else:  # hardly any noise: (12.9.2)
        grown = (sizes[1999] ** 2 - sizes[999] ** 2) / 1000
        assert abs(grown - 0.1) < 0.01
tenfold = noisy_sizes(0.0, eps=1e-5, steps=500)[-1]
assert abs(tenfold / noisy_sizes(0.0, steps=500)[-1] - 1) < 0.01

# %% [markdown]
# With pure noise, and with noise as large as the mean gradient, $\sqrt{d+\epsilon}$ levels off at about three times $\sqrt\epsilon$ for $\rho=0.9$, which is no more than the first step, $\sqrt{10\,\epsilon}$.
# With noise of a hundredth of the mean the steps grow as in (12.9.2), for these 2000 steps at least.

# %% [markdown]
# ## A sweep
#
# If nothing has to be tuned, a sweep over $\epsilon$ should be flat.
# The problem is airfoil noise ([Section 12.5](05-minibatch-sgd.ipynb)): linear regression, batches of 10, two epochs or 300 steps for each point, and a second sweep of ten epochs.
# SGD runs over its rate as a yardstick, with the same seeds and steps.

# %%
data = Airfoil()
real, full_run = data.source == "real", num_seeds >= 3
design = torch.cat([data.X, torch.ones_like(data.y)], dim=1)
solution = torch.linalg.lstsq(design, data.y).solution
optimum = 0.5 * (design @ solution - data.y).square().mean().item()


def excess(optimizer, hyper, seed, epochs=2):
    """Training loss above the least-squares optimum."""
    return train_opt(optimizer, hyper, data, epochs, seed)[1][-1] - optimum


seeds = range(1, num_seeds + 1)
exponents = list(range(-9, 0))
sweep = {k: [excess(adadelta, {"eps": 10.0**k}, seed) for seed in seeds]
         for k in exponents}
longer = {k: [excess(adadelta, {"eps": 10.0**k}, seed, 10) for seed in seeds]
          for k in exponents}
longer_sgd = {rate: [excess(sgd, {"lr": rate}, seed, 10) for seed in seeds]
              for rate in (0.003, 0.01, 0.03)}
sgd_rates = [1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3]
yardstick = {rate: [excess(sgd, {"lr": rate}, seed) for seed in seeds]
             for rate in sgd_rates}
for runs in (sweep, longer, yardstick, longer_sgd):
    assert all(len(set(values)) == num_seeds for values in runs.values())

# %%
# check 12.9-C5: five seeds, a factor 10 in epsilon
tenth = [excess(adadelta, {"eps": 1e-6}, seed) for seed in range(5)]
whole = [excess(adadelta, {"eps": 1e-5}, seed) for seed in range(5)]
print(f"excess {min(tenth):.4f} to {max(tenth):.4f} with 1e-6, "
      f"{min(whole):.4f} to {max(whole):.4f} with 1e-5")
best_eps = {name: min(runs, key=lambda k: sum(runs[k])) for name, runs in (
    ("2 epochs", sweep), ("10 epochs", longer))}
print("best exponents:", best_eps)
if real:
    assert abs(optimum - 0.2416880) < 1e-6
    assert max(whole) < min(tenth)
    assert sum(whole) < sum(tenth) / 3
    assert best_eps == {"2 epochs": -5, "10 epochs": -6}
    assert max(longer[-6]) < min(longer[-5])
    for k in (-8, -7, -2):  # far off, on either side
        assert min(sweep[k]) > 3 * max(sweep[-5])
    top = min(yardstick, key=lambda rate: sum(yardstick[rate]))
    assert top == 0.03
    assert max(longer_sgd[0.01]) < min(longer_sgd[0.03])
    assert max(longer_sgd[0.01]) < min(longer_sgd[0.003])
    if full_run:  # overlap with tuned SGD
        assert min(yardstick[top]) < max(sweep[-5])
        assert min(sweep[-5]) < max(yardstick[top])

# %%
# do the steps grow on this problem?
ratios = []


def watched(params, grads, state, hyper):
    adadelta(params, grads, state, hyper)
    d = torch.cat([d.flatten() for d in state["d"]])
    ratios.append((d / hyper["eps"] + 1).mean().sqrt().item())


excess(watched, {"eps": 1e-6}, 1, 10)
early, late = sum(ratios[10:150]) / 140, sum(ratios[750:]) / 750
print(f"sqrt(d + eps) / sqrt(eps): {early:.1f} in the first epoch, {late:.1f} "
      "in the last five")
assert len(ratios) == 1500 and 2 < late < 4
assert abs(ratios[0] - math.sqrt(2)) < 0.01
assert late < 1.1 * early

# %% tags=["hide-input"]
scale = [10 ** (k / 2) for k in exponents]
ax = d2l.plot([scale, scale, sgd_rates],
              [[sum(runs[key]) / num_seeds for key in runs]
               for runs in (sweep, longer, yardstick)],
              ["Adadelta, 2 epochs", "Adadelta, 10 epochs", "SGD, 2 epochs"],
              xlabel=r"$\sqrt{\epsilon}$, or the rate of SGD",
              ylabel="excess of the loss", xscale="log", yscale="log")
for i, runs in enumerate((sweep, longer, yardstick)):
    for place, values in zip([scale, scale, sgd_rates][i], runs.values()):
        ax.plot([place] * num_seeds, values, ".", color=f"C{i}", ms=5)
d2l.describe(ax, """Excess loss against the square root of epsilon or the
    rate, both logarithmic: three valleys with seeds as dots. The valley of
    ten epochs lies further to the left than that of two.""")

# %% [markdown]
# **Figure 12.9.3.** Excess over the optimum: $\sqrt\epsilon$ of Adadelta and the rate of SGD on one axis; lines join the means of three seeds (dots).
#
# The curves are valleys.
# In two epochs every seed ends lower with $\epsilon=10^{-5}$ than any does with the default $10^{-6}$, and the mean excess is less than a third; at the best values of the grids, Adadelta and SGD overlap.
# After ten epochs instead of two, the best $\epsilon$ of the grid is one place lower, $10^{-6}$.
# The best rate of SGD goes down a place of its grid as well, to 0.01.
# As under pure noise, in a run with the default $\epsilon$, $\sqrt{d+\epsilon}$ stays near three times $\sqrt\epsilon$ from the first epoch to the tenth: $\sqrt\epsilon$ is not a starting value that the method corrects.

# %% [markdown]
# ## Estimating the distance
#
# What would a method have to know?
# The bound of [Section 12.4](04-sgd.ipynb) answers: with gradients of norm at most $L$, the best constant rate for $T$ steps is $D/(L\sqrt T)$, where $D=\|\mathbf{x}_0-\mathbf{x}^*\|$.
# $L$ and $T$ can be seen; $D$ cannot.
# *D-Adaptation* (Defazio and Mishchenko, 2023) estimates it from below.
# With weights $d_k$, sums $\mathbf{s}_{k+1}=\mathbf{s}_k+d_k\mathbf{g}_k$ and $\gamma_{k+1}=(\sum_{i\le k}\|\mathbf{g}_i\|^2)^{-1/2}$, it goes to $\mathbf{x}_{k+1}=\mathbf{x}_0-\gamma_{k+1}\mathbf{s}_{k+1}$; $\mathbf{s}_0=\mathbf{0}$ and $\gamma_0=\gamma_1$.
# For convex $f$
#
# $$0\le\sum_kd_k(f(\mathbf{x}_k)-f^*)\le\sum_kd_k\mathbf{g}_k^\top(\mathbf{x}_k-\mathbf{x}^*)\le\|\mathbf{s}\|D-\sum_k\gamma_kd_k\mathbf{g}_k^\top\mathbf{s}_k, \tag{12.9.3}$$
#
# where $\mathbf{s}$ is the last sum; let $\gamma$ be the last factor.
# Since $2d_k\mathbf{g}_k^\top\mathbf{s}_k=\|\mathbf{s}_{k+1}\|^2-\|\mathbf{s}_k\|^2-d_k^2\|\mathbf{g}_k\|^2$ and $\gamma_k$ never grows, solving for $D$ gives
#
# $$D\ge\hat d=\frac{\gamma\|\mathbf{s}\|^2-\sum_k\gamma_kd_k^2\|\mathbf{g}_k\|^2}{2\|\mathbf{s}\|}, \tag{12.9.4}$$
#
# and the next weight is the largest $\hat d$ so far, starting from a guess $d_0$.
# The result is the average of the iterates with the weights $d_k$.

# %%
def d_adaptation(subgrad, x0, d0, steps):
    """Averages and estimates of D of n separate problems in 1-D.

    `subgrad` maps points (n,) to gradients (n,). Returns two (n,).
    """
    x, d = x0.clone(), torch.full_like(x0, d0)
    s, squares, spent, total, weight = torch.zeros(5, *x0.shape).to(x0)
    gamma = None
    for _ in range(steps):
        g = subgrad(x)
        total, weight = total + d * x, weight + d
        squares = squares + g**2
        if gamma is None:
            gamma = squares.rsqrt()  # the first one serves twice
        spent = spent + gamma * d**2 * g**2
        s, gamma = s + d * g, squares.rsqrt()
        d = torch.maximum(d, (gamma * s**2 - spent) / (2 * s.abs()))
        x = x0 - gamma * s
    return total / weight, d

# %% [markdown]
# The test is $f(x)=E[|x-\xi|]$ with $\xi\sim\mathcal{N}(0,1)$ from $x_0=3$, so $D=3$ and $L=1$: 1000 steps for each of three methods, with one guess: $D$ for the rate of averaged SGD, $\sqrt\epsilon$ for averaged Adadelta, and $d_0$.

# %%
def risk(x):
    """E|x - xi| above its minimum, for xi ~ N(0, 1)."""
    density = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return (x * torch.erf(x / math.sqrt(2)) + 2 * density
            - math.sqrt(2 / math.pi))


def averaged(optimizer, hyper, subgrad, x0, steps):
    """The mean of the iterates x_0, ..., x_(steps - 1)."""
    x, state, total = x0.clone(), {}, torch.zeros_like(x0)
    for _ in range(steps):
        total += x
        optimizer([x], [subgrad(x)], state, hyper)
    return total / steps


def noisy_sign(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return lambda x: torch.sign(
        x - torch.randn(len(x), generator=rng, dtype=x.dtype))


# %% tags=["hide-input"]
# check: the excess risk, the average, and the first steps of the estimate
rng = torch.Generator().manual_seed(1)
draws = torch.randn(1_000_000, generator=rng, dtype=torch.float64)
least = math.sqrt(2 / math.pi)
for x in (0.0, 0.5, -2.0):
    gap = (x - draws).abs().mean() - least
    assert abs(risk(torch.tensor(x).double()) - gap) < 0.005
three = torch.tensor([3.0], dtype=torch.float64)
mean = averaged(sgd, {"lr": 0.1}, torch.sign, three, 11)
assert abs(mean - (3 - 0.1 * 5)) < 1e-12
# while all gradients are 1 and d = d0: s = k d0, gamma = k^(-1/2)
roots = torch.arange(1, 41, dtype=torch.float64).sqrt()
spent = 1 + torch.cat([torch.zeros(1), (1 / roots).cumsum(dim=0)[:-1]])
hats = (roots**3 - spent) / (2 * roots**2)  # (12.9.4) in units of d0
first = 1 + int((hats > 1).nonzero()[0])
mean, d = d_adaptation(torch.sign, three, 0.01, first - 1)
assert d == 0.01 and first > 5
assert abs(mean - 3 + 0.01 * roots[:first - 2].sum() / (first - 1)) < 1e-12
_, d = d_adaptation(torch.sign, three, 0.01, first)
assert abs(d - 0.01 * hats[first - 1]) < 1e-12
mean, _ = d_adaptation(torch.sign, three, 0.01, first + 1)  # new weight
h = hats[first - 1]
moved = (roots[:first - 1].sum() + h * roots[first - 1]) / (first + h)
assert abs(mean - 3 + 0.01 * moved) < 1e-12
before = noisy_sign(4)(three.expand(50))
assert (noisy_sign(4)(three.expand(50)) == before).all()
assert (noisy_sign(5)(0 * three.expand(50)) == -1).any()

# %%
x0 = torch.full((chains,), 3.0, dtype=torch.float64)
guesses = [10.0**k for k in range(-8, 3)]
found = {"SGD": [], "Adadelta": [], "D-Adaptation": []}
estimates = {}
for guess in guesses:
    for name, optimizer, hyper in (
            ("SGD", sgd, {"lr": guess / math.sqrt(1000)}),
            ("Adadelta", adadelta, {"eps": guess**2})):
        mean = averaged(optimizer, hyper, noisy_sign(), x0, 1000)
        found[name].append(risk(mean).mean().item())
    mean, estimates[guess] = d_adaptation(noisy_sign(), x0, guess, 1000)
    found["D-Adaptation"].append(risk(mean).mean().item())

# %% tags=["hide-input"]
ax = d2l.plot(guesses, list(found.values()), list(found),
              fmts=["o-", "s--", "^-."], xscale="log", yscale="log",
              xlabel=r"guess: $D$, $\sqrt{\epsilon}$ or $d_0$",
              ylabel="excess risk")
ax.axvline(3, color="k", lw=0.8, ls=":")
d2l.describe(ax, """Excess risk against the guess, both logarithmic. SGD and
    Adadelta stay at 2.2 for small guesses and fall steeply near a guess of
    one tenth to one; D-Adaptation lies near 0.01 for all guesses up to 10 and
    rises at 100.""")

# %% [markdown]
# **Figure 12.9.4.** Excess risk after 1000 steps, mean of 2000 runs; the dotted line is the true $D=3$.

# %%
adapted = dict(zip(guesses, found["D-Adaptation"]))
assert max(v for guess, v in adapted.items() if guess <= 10) < 0.04
assert max(adapted[g] for g in guesses[:9]) < 10 * min(
    adapted[g] for g in guesses[:9])
assert min(adapted[g] for g in guesses[:9]) > 2 * min(found["SGD"])
assert adapted[100.0] > 0.05
for name in ("SGD", "Adadelta"):
    assert min(found[name][:4]) > 2  # hardly moved: 2.2 at the start
    assert min(found[name]) < 0.002
assert max(d.max().item() for g, d in estimates.items() if g <= 1) < 3
unit_rate = risk(averaged(sgd, {"lr": 1.0}, noisy_sign(), x0, 1000)).mean()
assert abs(found["Adadelta"][-1] / unit_rate - 1) < 0.01
best_sgd = min(found["SGD"])
assert adapted[10.0] < 1.5 * best_sgd
cent = x0 / 100  # everything in a unit 100 times as large


def noisy_cents(seed=0):
    signs = noisy_sign(seed)
    return lambda x: signs(100 * x)


for guess in (1.0, 100.0):
    mean = averaged(adadelta, {"eps": guess**2}, noisy_cents(), cent, 1000)
    assert risk(100 * mean).mean() > 2 * risk(x0).mean()
mean, d = d_adaptation(noisy_cents(), cent, 1e-6, 1000)
assert abs(risk(100 * mean).mean() / adapted[1e-4] - 1) < 1e-3
for d0 in (1e-8, 1e-4, 1.0):  # without noise: a theorem
    mean, d = d_adaptation(torch.sign, x0[:1], d0, 1000)
    assert 1 < d < 3 and abs(mean) < 0.2
    assert d >= d_adaptation(torch.sign, x0[:1], d0, 500)[1]  # never shrinks

# %% [markdown]
# A guess that is too small by eight powers of ten costs SGD and Adadelta nearly all progress, and D-Adaptation a factor below ten against the guess $d_0=1$.
# The price is real, though: no $d_0\le1$ reaches half of the accuracy that the best guess gives SGD.
# These estimates stay below the distance.
# A guess somewhat above it, $d_0=10$, makes the same algorithm as good as the best SGD; but an estimate cannot shrink, and from $d_0=100$ these 1000 steps end higher than from any other guess.
# Large guesses are harmless to Adadelta only by the choice of the unit.
# It is then SGD with the rate 1, whatever $\epsilon$, and 1000 averaged steps of that size suit this problem.
# With $x$, and with it $f$, in a unit a hundred times as large they end farther from the minimizer than they began, while D-Adaptation with $d_0$ converted repeats its result.
# For noisy gradients (12.9.4) is no theorem; in these runs no estimate from $d_0\le1$ exceeded $D$.
#
# Prodigy (Mishchenko and Defazio, 2024) improves the dependence on $D/d_0$ and is used with Adam-like scales.
# Where does that leave the claim today?
# Kasimbeg and others (2025) ran such methods on the AlgoPerf benchmark: with their published defaults they did poorly, and after a common calibration of the remaining settings the best of them still lagged slightly behind an equally calibrated NadamW.

# %% [markdown]
# ## Summary
#
# - Adadelta multiplies the unitless $g/\sqrt s$ by the root mean square of recent steps, so the units of $f$ cancel; those of $x$ cancel only if $\epsilon$ is converted as well.
# - The first step is $\sqrt{\epsilon/(1-\rho)}$ for any gradient with $g^2\gg\epsilon/(1-\rho)$: $\sqrt\epsilon$ is the learning rate.
# - Under a constant gradient the squared step grows by $(1-\rho)\epsilon$ per step; noise stops the growth at a level in proportion to $\epsilon$.
# - On the airfoil data the default $\epsilon$ has on average more than three times the excess of a ten times larger one after two epochs, and the best one depends on the length of training.
# - D-Adaptation estimates the distance to the minimizer from below: on our test, guesses from $10^{-8}$ to 1 lead to results within a factor ten; one far above the distance ended higher than all of them.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.9-1
#
# Sweep $\rho$ from 0.5 to 0.999 on the airfoil data, for $\epsilon=10^{-6}$ and $10^{-5}$, and explain the trend.

# %% [markdown]
# #### Solution 12.9-1

# %% [markdown]
# A larger $\rho$ means a larger first step, $\sqrt{\epsilon/(1-\rho)}$.
# At $10^{-6}$, where steps are too short, the loss falls with $\rho$ up to 0.99; at $10^{-5}$ the largest $\rho$ overshoots in some runs.
# The control keeps the first step: with $\epsilon=10^{-5}(1-\rho)$ the loss rises from $\rho=0.5$ to 0.9 instead of falling.
# The fall thus came with the longer first step: $\rho$ is a second knob for the size of the steps.

# %%
rhos = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
table = {(rho, eps): [excess(adadelta, {"rho": rho, "eps": eps}, seed)
                      for seed in seeds]
         for rho in rhos for eps in (1e-6, 1e-5)}
for rho in rhos:
    print(f"rho {rho:<5}", "   ".join(
        f"{min(table[rho, eps]):.4f} to {max(table[rho, eps]):.4f}"
        for eps in (1e-6, 1e-5)))
if real:
    for low, high in ((0.5, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.99)):
        assert min(table[low, 1e-6]) > max(table[high, 1e-6])
    assert max(table[0.999, 1e-5]) > 2 * max(table[0.9, 1e-5])
# the control: one first step for all rho
kept = {rho: [excess(adadelta, {"rho": rho, "eps": 1e-5 * (1 - rho)}, seed)
              for seed in seeds] for rho in rhos[:3]}
print("first step kept:", ", ".join(
    f"{rho}: {min(kept[rho]):.4f} to {max(kept[rho]):.4f}" for rho in kept))
if real:
    assert max(kept[0.5]) < min(kept[0.8])
    assert max(kept[0.8]) < min(kept[0.9])

# %% [markdown]
# ### Exercise 12.9-2
#
# Write Adadelta without the variable $g'$, by keeping the ratio of the two roots, and show that it is the same.

# %% [markdown]
# #### Solution 12.9-2

# %% [markdown]
# With the ratio $\mathbf{r}_t$ the step is $\mathbf{r}_t\odot\mathbf{g}_t$ and its square $\mathbf{r}_t^2\odot\mathbf{g}_t^2$: a learning rate for each coordinate.

# %%
x, y = torch.zeros(4).double(), torch.zeros(4).double()
state, s, d = {}, torch.zeros(4).double(), torch.zeros(4).double()
for g in grads:
    adadelta([x], [g], state, {})
    s = 0.9 * s + 0.1 * g**2
    ratio = ((d + 1e-6) / (s + 1e-6)).sqrt()
    y = y - ratio * g
    d = 0.9 * d + 0.1 * ratio**2 * g**2
    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-15)

# %% [markdown]
# ### Exercise 12.9-3
#
# Find an $\epsilon$ with which two epochs on the airfoil data leave the loss above 0.4, and predict its order of magnitude before you run it.

# %% [markdown]
# #### Solution 12.9-3

# %% [markdown]
# The largest weight of the solution is about 0.6.
# The loss is quadratic and starts near 0.49, so on the straight way to the solution it stays above 0.4 for the first fifth.
# As noise holds $\sqrt{d+\epsilon}$ near $3\sqrt\epsilon$, 300 steps lead at most about $900\sqrt\epsilon$ far.
# The largest weight then covers a fifth of its way for an $\epsilon$ between $10^{-8}$ and $10^{-7}$; the smaller weights are further on by then, but not all steps have one sign, so we try $10^{-8}$.

# %%
largest = solution.abs().max().item()
predicted = (largest / 5 / (300 * levels[0.0])) ** 2
final = [optimum + v for v in sweep[-8]]
print(f"largest weight {largest:.2f}, predicted epsilon {predicted:.0e}; "
      f"losses with 1e-8: {min(final):.3f} to {max(final):.3f}")
if real:
    assert min(final) > 0.4 and 1e-8 < predicted < 1e-7
    assert optimum + max(sweep[-7]) < 0.4

# %% [markdown]
# ### Exercise 12.9-4
#
# How many steps does Adadelta need to travel the distance 1 under a constant gradient, for $\epsilon=10^{-4}$, $10^{-6}$ and $10^{-8}$?
# Which power of $\epsilon$ do you expect?

# %% [markdown]
# #### Solution 12.9-4

# %% [markdown]
# Early steps are nearly constant, so the distance is about $3.4\sqrt\epsilon\,t$ and $t\propto\epsilon^{-1/2}$.
# Late ones grow like $\sqrt{(1-\rho)\epsilon t}$, so the distance grows like $\sqrt\epsilon\,t^{3/2}$ and $t\propto\epsilon^{-1/3}$.
# The measured counts lie between, and approach the latter.

# %%
counts = []
for eps in (1e-4, 1e-6, 1e-8):
    distance = warmup_curve(eps, 0.9, 1500).cumsum(dim=0)
    counts.append(1 + int((distance >= 1).nonzero()[0]))
print("steps:", counts)
assert counts == [29, 214, 1217]
powers = [math.log(counts[i + 1] / counts[i]) / math.log(100) for i in (0, 1)]
assert 1 / 3 < powers[1] < powers[0] < 1 / 2

# %% [markdown]
# ## Sources
#
# - M. D. Zeiler, *ADADELTA: an adaptive learning rate method* (2012), [arXiv:1212.5701](https://arxiv.org/abs/1212.5701).
# - A. Defazio and K. Mishchenko, *Learning-rate-free learning by D-Adaptation*, ICML 2023, [arXiv:2301.07733](https://arxiv.org/abs/2301.07733): Algorithm 1.
# - K. Mishchenko and A. Defazio, *Prodigy: an expeditiously adaptive parameter-free learner*, ICML 2024, [arXiv:2306.06101](https://arxiv.org/abs/2306.06101).
# - P. Kasimbeg et al., *How far away are truly hyperparameter-free learning algorithms?* (2025), [arXiv:2505.24005](https://arxiv.org/abs/2505.24005).
