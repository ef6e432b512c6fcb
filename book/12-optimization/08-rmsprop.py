# ---
# jupyter:
#   d2l:
#     data: [airfoil]
#     profiles:
#       gpu:
#         num_seeds: 5
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
# # 12.8 RMSProp
#
# Adagrad divides by the root of a sum that only grows, so it decides two things at once: how large the steps of the coordinates are relative to each other, and how all of them shrink with time.
# RMSProp replaces the sum by an average that forgets.
# This section separates the two decisions, the scale of a coordinate and the schedule of the rate, and measures what each of them does.
#
# **You will**
#
# - replace a sum by a leaky average and state its memory in steps;
# - implement RMSProp and compare it with PyTorch's, step by step;
# - predict three consequences: large first steps, a cycle of width $\eta$ around a minimum, and a noise floor whose variance is proportional to the standard deviation of the noise;
# - tell by a controlled experiment whether a gain comes from the scale or from the schedule.
#
# **Cost**: less than a minute on a CPU, no use of a GPU, a download of 58 kB.

# %%
import math

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.optimization import (
    Airfoil, adagrad, on, sgd, show_trace_2d, stationary_variance, train_2d,
    train_opt)

d2l.use_style()

# %% tags=["parameters"]
num_seeds = 5  # to choose a rate, and as many new ones to report
chains = 2000  # of the simulated noise floor

# %% [markdown]
# ## A sum that forgets
#
# The state of Adagrad ([Section 12.7](07-adagrad.ipynb)) is $\mathbf{s}_t=\mathbf{s}_{t-1}+\mathbf{g}_t^2$.
# A large gradient at the start of training stays in it to the end, and with gradients of constant size the steps shrink like $t^{-1/2}$.
# A *leaky average* loses a fixed share of its content in each step:
#
# $$\mathbf{s}_t=\gamma\,\mathbf{s}_{t-1}+(1-\gamma)\,\mathbf{g}_t^2,\qquad \mathbf{s}_0=\mathbf{0}, \tag{12.8.1}$$
#
# with the gradient $\mathbf{g}_t\in\mathbb{R}^d$ of step $t$, squared elementwise, the state $\mathbf{s}_t\in\mathbb{R}^d$, and $0\le\gamma<1$.
# Insert the equation into itself:
#
# $$\mathbf{s}_t=(1-\gamma)\sum_{\tau=0}^{t-1}\gamma^\tau\,\mathbf{g}_{t-\tau}^2. \tag{12.8.2}$$
#
# A gradient of age $\tau$ has the weight $(1-\gamma)\gamma^\tau$, and all weights together make $1-\gamma^t$.
# Three numbers describe the memory.
# The *mean age* of the weights of an endless run is $\sum_\tau(1-\gamma)\gamma^\tau\tau=\frac\gamma{1-\gamma}$.
# The *half-life*, after which a weight has fallen to a half, is $\frac{\log2}{-\log\gamma}$; half of the total weight is younger.
# And $\frac1{1-\gamma}$ equal weights of $1-\gamma$ would make the same total.
# For $\gamma=0.9$ these are 9, 6.6 and 10 steps: close, but not the same.
# Some texts call 10, or even $\frac1\gamma$, the half-life; it is neither.

# %%
def leaky_weights(gamma, n):
    """Weights (n,) of the ages 0, 1, ..., n - 1 in a leaky average."""
    return (1 - gamma) * gamma ** torch.arange(n, dtype=torch.float64)


def half_life(gamma):
    """Steps after which a weight has fallen to a half."""
    return math.log(2) / -math.log(gamma)

# %% tags=["hide-input"]
gammas = (0.7, 0.9, 0.95, 0.99)
ages = torch.arange(41)
ax = d2l.plot(ages, [leaky_weights(gamma, 41) for gamma in gammas],
              [rf"$\gamma={gamma}$" for gamma in gammas],
              xlabel=r"age $\tau$ in steps", ylabel="weight")
for i, gamma in enumerate(gammas[:3]):
    ax.plot(half_life(gamma), (1 - gamma) / 2, "o", color=f"C{i}", ms=5)
d2l.describe(ax, """Four falling curves of weights against the age. The
    smaller gamma, the higher the start and the faster the fall; dots mark
    half of the first weight.""")

# %% [markdown]
# **Figure 12.8.1.** Weights of past squared gradients; dots mark the half-lives.
# That of $\gamma=0.99$, 69 steps, lies outside the figure.

# %%
# check 12.8-C3: half-lives and mean age
for gamma, steps in ((0.9, 6.5788), (0.99, 68.9676), (0.999, 692.80)):
    assert abs(half_life(gamma) - steps) < 1e-4 * steps
    weights = leaky_weights(gamma, 50_000)
    age = weights @ torch.arange(50_000, dtype=torch.float64)
    assert abs(age - gamma / (1 - gamma)) < 1e-8
    young = weights[:math.ceil(half_life(gamma))].sum()
    assert 0.5 <= young < 0.5 + (1 - gamma)

# %%
# check 12.8-C5: the weights of t steps make 1 - gamma^t
for gamma in gammas:
    for t in (1, 7, 100):
        assert abs(leaky_weights(gamma, t).sum() - (1 - gamma**t)) < 1e-12

# %% [markdown]
# ## The algorithm
#
# RMSProp divides each gradient by the root of its leaky mean square, hence the name:
#
# $$\mathbf{x}_t=\mathbf{x}_{t-1}-\frac{\eta}{\sqrt{\mathbf{s}_t}+\epsilon}\odot\mathbf{g}_t, \tag{12.8.3}$$
#
# with the parameters $\mathbf{x}_t\in\mathbb{R}^d$, the learning rate $\eta>0$ and a small $\epsilon$ against division by 0; root and quotient are elementwise, $\odot$ multiplies elementwise.
# Hinton taught it in 2012, in lecture 6 of an online course (usually cited as Tieleman and Hinton), as a version of Rprop for minibatches; Rprop uses only the signs of full gradients.
# With $\gamma=0$ and $\epsilon=0$ a step is $-\eta\,\mathrm{sign}(\mathbf{g}_t)$.
# His example shows what is wrong with signs: of ten minibatches, nine have the gradient 0.1 and one $-0.9$.
# They cancel in SGD, but the signs move $x$ by eight steps per ten.
# A divisor that neighbouring minibatches share restores the balance: as the code will show, less than one step per ten remains for $\gamma=0.9$, and less than a tenth of one for 0.99.

# %% tags=["export"]
def rmsprop(params, grads, state, hyper):
    """One step of RMSProp, in place; "lr", "gamma", "eps" (1e-8)."""
    squares = state.setdefault("s", [torch.zeros_like(p) for p in params])
    for p, g, s in zip(params, grads, squares, strict=True):
        s.mul_(hyper["gamma"]).add_((1 - hyper["gamma"]) * g**2)
        p -= hyper["lr"] * g / (s.sqrt() + hyper.get("eps", 1e-8))

# %% [markdown]
# PyTorch calls $\gamma$ `alpha`, with the default 0.99; Hinton's slide has 0.9.
# PyTorch's $\epsilon$ of $10^{-8}$ stands outside the root, as in (12.8.3); elsewhere it stands inside, which is another algorithm where gradients are tiny.

# %%
# check 12.8-C4: own = torch.optim.RMSprop, for 50 given gradients
rng = torch.Generator().manual_seed(8)
grads = torch.randn(50, 4, generator=rng, dtype=torch.float64)
grads *= torch.tensor([1.0, 1e-3, 1e-8, 1e3])  # epsilon is seen, too
x, state = torch.ones(4, dtype=torch.float64), {}
p = torch.nn.Parameter(x.clone())
for settings in ({"lr": 0.1, "alpha": 0.9}, {}):  # {}: the defaults
    optimizer = torch.optim.RMSprop([p], **settings)
    hyper = {"lr": settings.get("lr", 0.01),
             "gamma": settings.get("alpha", 0.99)}
    state = {}
    for g in grads:
        rmsprop([x], [g], state, hyper)
        p.grad = g.clone()
        optimizer.step()
        torch.testing.assert_close(x, p.detach(), rtol=0, atol=1e-12)

# %%
cycle = torch.tensor([0.1] * 9 + [-0.9], dtype=torch.float64).repeat(100)
for gamma, low, high in ((0, 7.999, 8.001), (0.9, 0.3, 1), (0.99, 0, 0.1)):
    x, state, ends = torch.zeros((), dtype=torch.float64), {}, []
    for g in cycle:
        rmsprop([x], [g], state, {"lr": 1.0, "gamma": gamma})
        ends.append(x.item())
    drift = (ends[499] - ends[-1]) / 50  # steps per ten, after start-up
    print(f"gamma {gamma}: {drift:.2f} steps per ten minibatches")
    assert low < drift < high

# %%
# check 12.8-C1: 20 steps in the canyon, epsilon in either place
def canyon(x):
    """0.1 x1^2 + 2 x2^2 for x (2,): curvatures 0.2 and 4."""
    return 0.1 * x[0] ** 2 + 2 * x[1] ** 2


def inside(params, grads, state, hyper):
    """RMSProp with epsilon inside the root."""
    s = state["s"] = hyper["gamma"] * state.get("s", 0) + (
        1 - hyper["gamma"]) * grads[0] ** 2
    params[0] -= hyper["lr"] * grads[0] / (s + hyper["eps"]).sqrt()


for optimizer, eps, end in ((inside, 1e-6, -0.0105987),
                            (rmsprop, 1e-8, -0.0105980)):
    path = train_2d(on(canyon, optimizer, lr=0.4, gamma=0.9, eps=eps))
    assert abs(path[-1, 0] - end) < 1e-7
    assert abs(path[-1, 1]) < 1e-12

# %% tags=["hide-input"]
def draw(fig, gamma, rate, steps):
    path = train_2d(on(canyon, rmsprop, lr=rate, gamma=gamma),
                    steps=int(steps))
    ax = show_trace_2d(canyon, {"": path}, fig.subplots())
    ax.set_title(rf"$\gamma={gamma}$, $\eta={rate}$, steps: {int(steps)}",
                 fontsize=9)


d2l.sliders(draw, """The elliptic contours of a valley with the path of
    RMSProp from the lower left; it bends into the valley and runs along it
    to the centre.""", figsize=(4.2, 2.6), gamma=[0, 0.5, 0.9, 0.99],
            rate=[0.1, 0.4, 1.0], steps=[5, 20, 100, 400])

# %% [markdown]
# **Figure 12.8.2.** RMSProp on $0.1x_1^2+2x_2^2$.
# With $\gamma=0.9$ and $\eta=0.4$ it is within 0.02 of the minimum after 20 steps, and away from it after 400.

# %% [markdown]
# ## Large first steps, and steps that adapt
#
# The state starts at 0 and for a constant gradient $g$ it is $(1-\gamma^t)g^2$, too small by the missing weight.
# So the first steps are too large, by this *start-up bias*:
#
# $$\frac{|x_t-x_{t-1}|}{\eta}=\frac1{\sqrt{1-\gamma^t}}. \tag{12.8.4}$$

# %%
# check 12.8-C2: sizes of the first steps in units of eta
def step_sizes(optimizer, grads, **hyper):
    """|move| of each step for given gradients (steps,), with rate 1."""
    x, state, sizes = torch.zeros_like(grads[0]), {}, []
    for g in grads:
        before = x.clone()
        optimizer([x], [g], state, {"lr": 1.0, **hyper})
        sizes.append((x - before).abs())
    return torch.stack(sizes)


constant = torch.full((50,), 3.0, dtype=torch.float64)
sizes = step_sizes(rmsprop, constant, gamma=0.9)
for t, ratio in ((1, 3.1623), (2, 2.2942), (5, 1.5627), (10, 1.2391),
                 (50, 1.0026)):
    assert abs(sizes[t - 1] - ratio) < 1e-4
    assert abs(sizes[t - 1] - (1 - 0.9**t) ** -0.5) < 1e-6

# %% [markdown]
# At $\gamma=0.9$ the first step is $3.16\,\eta$, at 0.99 it is $10\,\eta$.
# [Section 12.10](10-adam.ipynb) removes the bias by a division.
#
# Now let the gradient be 1 for 100 steps, 0.01 for 1000 more, and then 1 again.

# %% tags=["hide-input"]
pulse = torch.ones(1200, dtype=torch.float64)
pulse[100:1100] = 0.01


def mean_square(gamma, k):
    """s after k steps with the small gradient."""
    return (1 - gamma**100) * gamma**k + 1e-4 * (1 - gamma**k)


curves = {"Adagrad": step_sizes(adagrad, pulse),
          r"RMSProp, $\gamma=0.9$": step_sizes(rmsprop, pulse, gamma=0.9),
          r"RMSProp, $\gamma=0.99$": step_sizes(rmsprop, pulse, gamma=0.99)}
adagrad_curve, fast, slow = curves.values()
ax = d2l.plot(torch.arange(1, 1201), list(curves.values()), list(curves),
              xlabel="step", ylabel=r"size of the step / $\eta$", yscale="log")
k = torch.arange(1, 1001, dtype=torch.float64)
theory = {g: 0.01 / mean_square(g, k).sqrt() for g in (0.9, 0.99)}
for sizes in theory.values():
    ax.plot(100 + k[24::50], sizes[24::50], "k.", ms=4)
d2l.describe(ax, """Step sizes on a logarithmic axis. All drop by a factor
    100 at step 100. The curve of Adagrad stays there; those of RMSProp climb
    nearly to 1, gamma 0.9 in 100 steps and 0.99 in 1000. At step
    1100 they jump up and return.""")

# %% [markdown]
# **Figure 12.8.3.** Step sizes when the gradient falls to a hundredth after step 100 and returns after step 1100.
# Dots: $|g_t|/\sqrt{s_t}$ with $s_t$ from (12.8.2).

# %%
for gamma, curve in ((0.9, fast), (0.99, slow)):
    torch.testing.assert_close(curve[100:1100], theory[gamma], rtol=1e-5,
                               atol=0)
    back = 1 + int((curve[100:1100] >= 0.5**0.5).nonzero()[0])
    wait = math.log((1 - gamma**100) * 1e4 - 1) / -math.log(gamma)
    print(f"gamma {gamma}: s is within a factor 2 of the new g^2 after "
          f"{back} steps, predicted {wait:.1f}")
    assert back == math.ceil(wait) and curve[1099] > 0.85
    for jump in (2.0, 10.0, 100.0):  # the overshoot
        settled = torch.ones(3001, dtype=torch.float64)
        settled[-1] = jump
        first = step_sizes(rmsprop, settled, gamma=gamma)[-1]
        ratio = jump / math.sqrt(gamma + (1 - gamma) * jump**2)
        assert abs(first - ratio) < 1e-6
    assert abs(first * math.sqrt(1 - gamma) - 1) < 0.01
    assert abs(curve[1100] / first - 1) < 0.03
assert adagrad_curve[1099] / adagrad_curve[99] > 0.01 * 0.999
assert adagrad_curve[1100] / adagrad_curve[99] > 0.99  # as if nothing had been

# %% [markdown]
# Adagrad keeps the hundred large squares: 1000 small gradients have moved its denominator by less than a thousandth.
# RMSProp adapts, but unevenly.
# Downwards it waits until the old squares have decayed to the size of the new ones, which for a factor 100 takes about $\log(10^4)/(-\log\gamma)$ steps.
# Upwards it adapts from the first large gradient on, yet overshoots.
# A jump by the factor $r$ gives the first step $r\eta/\sqrt{\gamma+(1-\gamma)r^2}$, which for large $r$ tends to the $\eta/\sqrt{1-\gamma}$ of the start.

# %% [markdown]
# ## No schedule: steps that do not settle
#
# With gradients of constant size, RMSProp's steps keep the size $\eta$, where Adagrad's shrink.
# On $f(x)=|x|$ the gradient is $\pm1$ even beside the minimum.
# After the start-up $s_t\approx1$, a step is $-\eta\,\mathrm{sign}(x)$, and once the minimum is within reach $x$ jumps between two points $a>0$ and $a-\eta<0$: a *limit cycle* of width $\eta$.
# The larger of $a$ and $\eta-a$ lies between $\frac\eta2$ and $\eta$; the start decides where.
#
# If the schedule is what is missing, then adding one must help.
# That is the control: the same algorithm with $\eta_t=\eta/\sqrt t$.

# %%
def with_root(optimizer):
    """The optimizer with the rate lr / sqrt(t) in its step t = 1, 2, ..."""
    def step(params, grads, state, hyper):
        t = state["t"] = state.get("t", 0) + 1
        optimizer(params, grads, state,
                  {**hyper, "lr": hyper["lr"] / math.sqrt(t)})
    return step


def limit_cycle(eta, gamma, f, x0, steps=5000, optimizer=rmsprop, eps=1e-8):
    """The path (steps + 1, n) of n separate starts x0 (n,) on f.

    `f` is applied elementwise.
    """
    x, state, path = x0.clone(), {}, [x0.clone()]
    slope = torch.func.grad(lambda x: f(x).sum())
    for _ in range(steps):
        optimizer([x], [slope(x)], state,
                  {"lr": eta, "gamma": gamma, "eps": eps})
        path.append(x.clone())
    return torch.stack(path)

# %%
# check 12.8-C6: a cycle of width eta on |x|; with eta / sqrt(t) it closes
eta, steps = 0.01, 5000
starts = torch.linspace(0.5, 1, 20, dtype=torch.float64)
cycles = limit_cycle(eta, 0.9, torch.abs, starts, steps)
top = cycles[-2:].abs().amax(dim=0)
assert (top >= eta / 2).all() and (top <= eta).all()
widths = (cycles[-1] - cycles[-2]).abs()
torch.testing.assert_close(widths, torch.full_like(widths, eta))
assert top.max() > 1.5 * top.min()  # the start decides
closing = limit_cycle(eta, 0.9, torch.abs, starts, steps, with_root(rmsprop))
last = eta / math.sqrt(steps)
assert closing[-2:].abs().max() <= 1.001 * last < eta / 50

# %% [markdown]
# Is the kink of $|x|$ to blame?
# No: at a smooth minimum RMSProp ends in a cycle as well, with a theory of its own.
# On $f(x)=\frac\lambda2x^2$ gradients vanish at the minimum, but RMSProp divides them by their recent size.
# While $x$ shrinks quickly, $\sqrt{s_t}$ lags behind and falls at most by $\sqrt\gamma$ per step, so the coordinate's rate $\eta/\sqrt{s_t}$ grows until it meets the limit of gradient descent ([Section 12.3](03-gradient-descent.ipynb)): beyond
#
# $$\frac{\eta}{\sqrt{s_t}}\,\lambda=2 \tag{12.8.5}$$
#
# $x$ grows again, which raises $s_t$.
# In balance $x$ changes its sign in each step with $s=\lambda^2x^2$, and (12.8.5) says $|x|=\frac\eta2$, whatever the curvature $\lambda$.
#
# This leaves out $\epsilon$.
# With it the condition is $\eta\lambda/(\lambda|x|+\epsilon)=2$, so
#
# $$|x|=\frac\eta2-\frac\epsilon\lambda, \tag{12.8.6}$$
#
# and where this is negative, $\epsilon>\frac12\eta\lambda$, RMSProp does settle: it is gradient descent with the rate $\eta/\epsilon$.

# %%
curvatures = torch.tensor([0.2, 1.0, 4.0], dtype=torch.float64).repeat(7)
for gamma in (0.5, 0.9, 0.99):
    path = limit_cycle(eta, gamma, lambda x: curvatures * x**2 / 2,
                       starts[:7].repeat_interleave(3), steps=4000)
    assert (path.abs().amin(dim=0) < eta / 100).all()  # was closer
    torch.testing.assert_close(path[-2], -path[-1], rtol=1e-4, atol=0)
    assert (path[-1].abs() / (eta / 2) - 1).abs().max() < 1e-4
for eps in (1e-3, 4e-3, 6e-3):  # with curvature 1
    path = limit_cycle(eta, 0.9, lambda x: x**2 / 2, starts[:2], 4000,
                       eps=eps)
    left = max(eta / 2 - eps, 0.0)
    assert (path[-2:].abs() - left).abs().max() < 1e-6
path = train_2d(on(canyon, rmsprop, lr=0.4, gamma=0.9), steps=2000)
shrinking = train_2d(on(canyon, with_root(rmsprop), lr=0.4, gamma=0.9),
                     steps=2000)
assert abs(path[20, 1]) < 1e-13 and abs(path[400].abs() - 0.2).max() < 1e-4
t = torch.arange(1, 2001, dtype=torch.float64)
late = shrinking[400:].abs() / (0.2 / t[399:, None].sqrt())
assert (late - 1).abs().max() < 0.02  # it follows eta_t / 2

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained")
n = torch.arange(200)
axes[0].plot(n, cycles[:200, 0], label=r"$\eta$")
axes[0].plot(n, closing[:200, 0], "--", label=r"$\eta/\sqrt{t}$")
axes[0].plot(n, cycles[:200, 7], ":", color="C0")
axes[0].set(xlabel="step", ylabel="$x$", title="$|x|$")
axes[0].legend(fontsize=8)
for trace, style, name in ((path, "-", "$\\eta$"),
                           (shrinking, "--", r"$\eta/\sqrt{t}$")):
    axes[1].plot(trace[1:501, 1].abs(), style, label=name)
axes[1].axhline(0.2, color="k", lw=0.8, ls=":")
axes[1].plot(t[:500], 0.2 / t[:500].sqrt(), "k:", lw=0.8)
axes[1].set(xlabel="step", ylabel="$|x_2|$", yscale="log", title="canyon")
d2l.describe(axes, """Left: on the absolute value two runs with a constant
    rate reach zero and jump about it; with a falling rate the run is still
    on its way. Right, logarithmic: in the canyon the second coordinate falls
    below 1e-13 within 30 steps, climbs back, and stays on the dotted line of
    half the rate; with the falling rate it does so too, and the line falls.
    """)

# %% [markdown]
# **Figure 12.8.4.** Left: $|x|$ with $\eta=0.01$, two starts. Right: $|x_2|$ in the canyon with $\eta=0.4$; dotted lines are $\frac12\eta_t$.
#
# The canyon of Figure 12.8.2 looks solved after 20 steps because $x_2$ happens to pass $10^{-13}$; by step 400 both coordinates jump between $\pm\frac\eta2$.
# With the schedule they settle, at $\frac12\eta_t$.
# The distance at which these runs end measures $\eta$, not the problem.
# On networks, full-batch Adam typically hovers at the corresponding limit for its rescaled Hessian (Cohen and others, 2022), and in such deterministic training it is through these oscillations that RMSProp, which sees only gradients, adapts to curvature (Cohen and others, 2025).

# %% [markdown]
# ### With noise
#
# Let the gradient be $\lambda x$ plus noise of standard deviation $\sigma$, much larger than $\lambda x$.
# Then $\sqrt s\approx\sigma$, and RMSProp is SGD with the rate $\eta/\sigma$.
# [Section 12.4](04-sgd.ipynb) derives the variance at which that stays:
#
# $$\operatorname{Var}(x)=\frac{\tilde\eta\,\sigma^2}{\lambda(2-\tilde\eta\lambda)}\approx\frac{\eta\,\sigma}{2\lambda},\qquad\tilde\eta=\frac\eta{\sqrt{\sigma^2+\lambda^2\operatorname{Var}(x)}}. \tag{12.8.7}$$
#
# The floor is proportional to $\sigma$, where that of SGD with a fixed rate is proportional to $\sigma^2$.
# At given noise, a smaller rate lowers both.

# %%
def predicted_floor(eta, curvature, sigma):
    """The variance of (12.8.7), by iteration."""
    variance = 0.0
    for _ in range(50):
        rms = math.sqrt(sigma**2 + curvature**2 * variance)
        variance = stationary_variance(eta / rms, curvature, sigma)
    return variance


def measured_floor(eta, curvature, sigma, gamma=0.99, steps=2400):
    """Variance of `chains` runs, averaged over the last third."""
    rng = torch.Generator().manual_seed(0)
    x, state, floor = torch.zeros(chains), {}, []
    for step in range(steps):
        noise = sigma * torch.randn(chains, generator=rng)
        rmsprop([x], [curvature * x + noise], state,
                {"lr": eta, "gamma": gamma})
        if step >= 2 * steps // 3:
            floor.append(x.square().mean())
    return torch.stack(floor).mean().item()

# %%
floor_rates, sigmas = [0.01, 0.03, 0.1], [0.3, 1.0, 3.0]
floors = {(rate, sigma): measured_floor(rate, 1.0, sigma)
          for rate in floor_rates for sigma in sigmas}
full_run = chains >= 1000
for (rate, sigma), value in floors.items():
    error = value / predicted_floor(rate, 1.0, sigma) - 1
    assert abs(error) < (0.05 if full_run else 0.2)
for rate in floor_rates:
    growth = floors[rate, 3.0] / floors[rate, 0.3]
    assert 8 < growth < 12  # a hundred for SGD
steep = measured_floor(0.03, 4.0, 1.0) / predicted_floor(0.03, 4.0, 1.0)
assert abs(steep - 1) < (0.05 if full_run else 0.2)
signs = measured_floor(0.03, 1.0, 1.0, gamma=0) / floors[0.03, 1.0]
if full_run:
    assert abs(signs - math.sqrt(math.pi / 2)) < 0.08

# %% tags=["hide-input"]
fine = torch.logspace(-2, -1, 30).tolist()
ax = d2l.plot([fine] * 3 + [floor_rates] * 3,
              [[predicted_floor(rate, 1.0, s) for rate in fine]
               for s in sigmas]
              + [[floors[rate, s] for rate in floor_rates] for s in sigmas],
              fmts=["-", "-", "-", "o", "s", "^"], xscale="log", yscale="log",
              xlabel=r"$\eta$", ylabel="variance of $x$")
for i, line in enumerate(ax.lines):
    line.set_color(f"C{i % 3}")
    if i > 2:
        line.set_label(rf"$\sigma={sigmas[i - 3]}$")
ax.legend(fontsize=8)
d2l.describe(ax, """Variance against rate, both logarithmic: three parallel
    rising lines for three noise levels, with markers on them.""")

# %% [markdown]
# **Figure 12.8.5.** The noise floor of RMSProp with $\gamma=0.99$ and $\lambda=1$: simulation (markers) and (12.8.7).
#
# (12.8.7) treats $\mathbf{s}$ as independent of the gradient of the step.
# For $\gamma=0.99$ the current gradient has 1 % of the weight and the theory holds within 5 %.
# For $\gamma=0$, steps of sign, the variance was about a quarter larger; for Gaussian noise the slope of the mean sign, $\sqrt{2/\pi}\,\lambda/\sigma$, gives the factor $\sqrt{\pi/2}=1.25$.

# %% [markdown]
# ## Scale or schedule?
#
# How much of Adagrad's behaviour is scale and how much is schedule?
# Write its step with the mean of the squares, $\mathbf{m}_t=\frac1t\sum_{i\le t}\mathbf{g}_i^2$:
#
# $$\frac{\eta}{\sqrt{\sum_{i\le t}\mathbf{g}_i^2}}=\frac{\eta}{\sqrt t}\cdot\frac1{\sqrt{\mathbf{m}_t}}. \tag{12.8.8}$$
#
# Adagrad is thus RMSProp with the schedule $\eta/\sqrt t$ and an average that never forgets, which is (12.8.1) with $\gamma_t=1-\frac1t$.
# Each of the two can be exchanged on its own.

# %%
def uniform(params, grads, state, hyper):
    """RMSProp whose average weighs all squares so far equally."""
    age = state["age"] = state.get("age", 0) + 1
    rmsprop(params, grads, state, {**hyper, "gamma": 1 - 1 / age})


x, y, states = torch.ones(4).double(), torch.ones(4).double(), ({}, {})
for g in grads:
    adagrad([x], [g], states[0], {"lr": 0.1, "eps": 0})
    with_root(uniform)([y], [g], states[1], {"lr": 0.1, "eps": 0})
    torch.testing.assert_close(x, y, rtol=0, atol=1e-12)

# %% [markdown]
# The experiment is the linear regression on airfoil noise from [Section 12.5](05-minibatch-sgd.ipynb): batches of 10, two epochs, 300 steps for each arm.
# We compare the excess of the training loss over the least-squares optimum.
# There are two versions of the data: with standardized columns, and with the second and fifth in other units, that is, multiplied by 10 and by 0.1.
# The set of linear models and the optimum are the same.

# %%
def airfoil(units):
    """Airfoil data, columns multiplied by `units`, and the least loss."""
    data = Airfoil()
    data.X = data.X * torch.tensor(units, dtype=torch.float64)
    design = torch.cat([data.X, torch.ones_like(data.y)], dim=1)
    solution = torch.linalg.lstsq(design, data.y).solution
    loss = 0.5 * (design @ solution - data.y).square().mean().item()
    return data, loss


standard, optimum = airfoil([1.0, 1.0, 1.0, 1.0, 1.0])
mixed, same = airfoil([1.0, 10.0, 1.0, 1.0, 0.1])
real = standard.source == "real"
assert abs(same - optimum) < 1e-9


def excess(optimizer, rate, seed, data=standard, epochs=2):
    """Training loss above the optimum; infinite if it overflows."""
    loss = train_opt(optimizer, {"lr": rate, "gamma": 0.9}, data, epochs,
                     seed)[1][-1]
    return loss - optimum if math.isfinite(loss) else math.inf

# %%
# check 12.8-C7: rate 0.01, 5 seeds
typical = [excess(rmsprop, 0.01, seed) for seed in range(5)]
start = excess(rmsprop, 0.01, 0, epochs=0)
print(f"excess {min(typical):.4f} to {max(typical):.4f}, "
      f"{start:.3f} before training")
assert min(typical) > 0
if real:
    assert abs(optimum - 0.2416880) < 1e-6 and abs(start - 0.2516) < 0.01
    assert max(typical) < 0.007

# %% [markdown]
# All arms try the same eight rates.
# The rate with the lowest mean over `num_seeds` seeds then runs with as many new ones.
# A seed fixes the first weights and the batches, so the arms can be compared seed by seed.

# %%
arms = {"leaky, constant": rmsprop,
        r"leaky, $1/\sqrt{t}$": with_root(rmsprop),
        "uniform, constant": uniform,
        r"uniform, $1/\sqrt{t}$ (Adagrad)": with_root(uniform),
        "SGD, constant": sgd, r"SGD, $1/\sqrt{t}$": with_root(sgd)}
grid = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


def average(values):
    return sum(values) / len(values)


def compare(data):
    """Per arm: all tuning runs by rate, the rate, and the new runs."""
    results = {}
    for name, optimizer in arms.items():
        tried = {rate: [excess(optimizer, rate, seed, data)
                        for seed in range(num_seeds)] for rate in grid}
        best = min(grid, key=lambda rate: average(tried[rate]))
        runs = [excess(optimizer, best, seed, data)
                for seed in range(num_seeds, 2 * num_seeds)]
        assert grid[0] < best < grid[-1] and len(set(runs)) == num_seeds
        assert not set(runs) & set(tried[best])  # new seeds
        results[name] = tried, best, runs
    return results


results = {"standardized": compare(standard), "other units": compare(mixed)}
for version, arm in results.items():
    for name, (_, best, runs) in arm.items():
        print(f"{version:13} {name:33} rate {best:<5}: "
              f"{min(runs):.4f} to {max(runs):.4f}, mean {average(runs):.4f}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained",
                         sharey=True)
for ax, (version, arm) in zip(axes, results.items()):
    for i, (name, (_, _, runs)) in enumerate(arm.items()):
        ax.plot(runs, [i] * len(runs), "os"[i % 2], color=f"C{i // 2}", ms=4)
    ax.set(yticks=range(len(arm)), yticklabels=list(arm), xscale="log",
           xlabel="excess of the training loss", title=version)
axes[0].invert_yaxis()
d2l.describe(axes, """Two panels with dots of five seeds for six methods.
    Left: for both averages and for SGD the dots with the falling rate tend to
    lie to the left of those with the constant rate. Right: both kinds of SGD
    lie far to the right of the four methods with a scale.""")

# %% [markdown]
# **Figure 12.8.6.** Scale against schedule on the airfoil data: 300 steps, best of eight rates, five new seeds.

# %%
def wins(first, second, version="standardized"):
    """Seeds of `num_seeds` in which the first arm ends lower."""
    pairs = zip(results[version][first][2], results[version][second][2])
    return sum(a < b for a, b in pairs)


constant_arms, root_arms = list(arms)[::2], list(arms)[1::2]
full_seeds = num_seeds >= 5
scheduled = sum(wins(b, a) for a, b in zip(constant_arms, root_arms))
print(f"standardized: with the schedule lower in {scheduled} of "
      f"{3 * num_seeds} pairs")
if real and full_seeds:
    means = {(version, name): average(runs) for version, arm in results.items()
             for name, (_, _, runs) in arm.items()}
    for a, b in zip(constant_arms, root_arms):
        assert means["standardized", b] < 0.7 * means["standardized", a]
    assert scheduled >= 3 * num_seeds - 1
    leaky_root, even_root, plain_root = root_arms
    assert 0 < wins(leaky_root, even_root) < num_seeds  # no order
    assert means["standardized", plain_root] < min(
        means["standardized", name] for name in (leaky_root, even_root))
    for name in list(arms)[:4]:  # other units: the scale decides
        for plain in list(arms)[4:]:
            assert wins(name, plain, "other units") == num_seeds
            ratio = means["other units", plain] / means["other units", name]
            assert ratio > 3
        assert means["other units", name] > 2 * means["standardized", name]
    for a, b in zip(constant_arms, root_arms):  # the schedule gains less
        assert 1 < means["other units", a] / means["other units", b] < 2
    tried = results["standardized"]["leaky, constant"][0]
    assert tried[0.03][0] < tried[0.01][0]  # seed 0 prefers the worse rate
    assert average(tried[0.03]) > 1.5 * average(tried[0.01])

# %% tags=["hide-input"]
for optimizer, power in ((sgd, 2), (rmsprop, 1)):
    hyper = {"lr": 0.1, "gamma": 0.9}
    weights = torch.zeros(2, 3, dtype=torch.float64)  # old unit, new unit
    states = {}, {}
    for g in grads[:, :2].reshape(-1, 1).expand(100, 3):
        c = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
        optimizer([weights[0]], [g], states[0], hyper)
        optimizer([weights[1]], [c * g], states[1], hyper)
    torch.testing.assert_close(c * weights[1], c**power * weights[0],
                               rtol=1e-3, atol=0)

# %% [markdown]
# With standardized columns the schedule decides.
# For each of the three scales, and with the rates of this grid, it lowered the mean excess by more than 30 %, and nearly every seed, with the same start and batches, ended lower with it.
# Between the two averages under this schedule no order can be seen, and SGD with it does no worse than either in the mean.
#
# In other units the scale decides.
# All four methods with a scale end lower than SGD for every seed, in the mean by more than a factor 3; the schedule gains less.
# They suffer from the change, too, for a scale does not remove units.
# With a column multiplied by $c$ the gradient is multiplied by $c$ and the weight to be found divided by it: measured in the old unit of the weight, a step of SGD becomes $c^2$ times as long and one of RMSProp $c$ times ([Section 12.9](09-adadelta.ipynb) starts from there).
#
# One seed is not enough to choose a rate: seed 0 alone prefers 0.03 to 0.01 for the leaky average with a constant rate, though it is worse in the mean over the seeds.
# These runs do not tell the two averages apart; where gradients change their size a lot, as in Figure 12.8.3, the choice can matter.
#
# Today RMSProp lives on mostly as a part of Adam, which adds an average of the gradients and the correction of the start-up bias; as a method of its own it has been common in reinforcement learning and for adversarial networks.
# It can diverge even on convex problems (Reddi and others, 2018); for $\gamma$ close enough to 1, depending on the problem, Shi and others (2021) prove, for rates that fall with time, convergence to a bounded region, and to critical points if all examples share them.

# %% [markdown]
# ## Summary
#
# - A leaky average weighs a square of age $\tau$ by $(1-\gamma)\gamma^\tau$: mean age $\frac\gamma{1-\gamma}$, half-life $\frac{\log2}{-\log\gamma}$.
# - From $s_0=0$ the first step is $\eta/\sqrt{1-\gamma}$; a large upward jump of the gradient brings nearly the same overshoot, and a fall by a large factor $r$ is adapted to after about $2\log r/(-\log\gamma)$ steps.
# - With a constant rate RMSProp ends in a cycle of width $\eta$, on $|x|$ and on parabolas with $\eta\lambda\gg\epsilon$, and with large noise at a variance near $\eta\sigma/2\lambda$.
# - Adagrad is a uniform average times $1/\sqrt t$; exchanging one at a time shows which of them a result rests on.
# - On the airfoil data it was the schedule with standardized columns, and mostly the scale with columns in other units.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.8-1
#
# What does RMSProp do with $\gamma=1$?
# Predict the first step in the canyon and the number of steps until the path overflows, then run it.

# %% [markdown]
# #### Solution 12.8-1

# %% [markdown]
# $\mathbf{s}$ stays 0, so every step is gradient descent with the rate $\eta/\epsilon=4\cdot10^7$, far above $2/L$.
# The first one leads from $x_2=-2$ to $3.2\cdot10^8$, and each further one multiplies by $1-4\eta/\epsilon$.
# After $k$ steps $|x_2|$ is about $2\,(1.6\cdot10^8)^k$, so the largest double precision number, $1.8\cdot10^{308}$, seems to allow 37 steps.
# But the algorithm squares the gradient $4x_2$, which overflows at half of that exponent, and $0\cdot\infty$ is not a number: the path ends after 19 steps.

# %%
blown = train_2d(on(canyon, rmsprop, lr=0.4, gamma=1.0), steps=25)
factor = 4 * 0.4 / 1e-8 - 1
largest = torch.finfo(torch.float64).max
finite = int(blown[:, 1].isfinite().sum()) - 1  # steps, without the start
powers = 2 * factor ** torch.arange(finite + 1, dtype=torch.float64)
torch.testing.assert_close(blown[:finite + 1, 1].abs(), powers)
assert int(math.log(largest / 2) / math.log(factor)) == 37
before = math.log(math.sqrt(largest) / 8) / math.log(factor)
assert finite == math.ceil(before) == 19 and blown[20, 1].isnan()

# %% [markdown]
# ### Exercise 12.8-2
#
# Rotate the canyon: compare $0.2x_1^2+4x_2^2$ with $0.1(x_1+x_2)^2+2(x_1-x_2)^2$, which has the same curvatures, 0.4 and 8.
# Take 24 starts on a circle, the same ones in the two eigenbases, and the rates $\eta/\sqrt t$ with $\eta=0.1$ and 0.3.
# Count the steps until $f$ stays below a thousandth of its first value.
# Does rotation always slow RMSProp down?

# %% [markdown]
# #### Solution 12.8-2

# %% [markdown]
# No.
# A step moves each coordinate by about $\eta_t$, so the way along a diagonal is the fastest, and the rotation by 45° exchanges diagonals and axes.
# At $\eta=0.1$ most of the time is spent on the way, and rotation speeds up half of the starts.
# At $\eta=0.3$ the approach to the minimum counts as well, and most starts need longer in the rotated canyon; the median is more than one and a half times as large.
# One start, or one rate, could have shown either.

# %%
def steep(x):
    return 0.2 * x[0] ** 2 + 4 * x[1] ** 2


def tilted(x):
    return 0.1 * (x[0] + x[1]) ** 2 + 2 * (x[0] - x[1]) ** 2


def settled(f, starts, rate, steps=1000):
    """For starts (2, n): the steps from which on f stays below f(x0)/1000."""
    x, state, values = starts.clone(), {}, [f(starts)]
    slope, move = torch.func.grad(lambda x: f(x).sum()), with_root(rmsprop)
    for _ in range(steps):
        move([x], [slope(x)], state, {"lr": rate, "gamma": 0.9})
        values.append(f(x))
    above = torch.stack(values) > values[0] / 1000  # (steps + 1, n)
    assert not above[-1].any()
    return (above * torch.arange(steps + 1)[:, None]).amax(dim=0) + 1


angle = 0.1 + torch.arange(24, dtype=torch.float64) * math.pi / 12
circle = 5 * torch.stack([angle.cos(), angle.sin()])
a, b = circle
turned = torch.stack([a + b, a - b]) * math.sqrt(0.5)
torch.testing.assert_close(steep(circle), tilted(turned))
slower, ratios = [], []
for rate in (0.1, 0.3):
    along, across = settled(steep, circle, rate), settled(tilted, turned, rate)
    slower.append(int((across > along).sum()))
    ratios.append((across.median() / along.median()).item())
    print(f"eta {rate}: rotated slower for {slower[-1]} of 24 starts, "
          f"ratio of the medians {ratios[-1]:.2f}")
assert slower[0] == 12 and slower[1] >= 18 and int(along.min()) == 35
assert abs(ratios[0] - 1) < 0.1 and ratios[1] > 1.5

# %% [markdown]
# ### Exercise 12.8-3
#
# Gradients are pure noise whose standard deviation doubles after 500 steps.
# How long does $\mathbf{s}$ take to cover half of the way to its new mean?
# Measure it for $\gamma=0.9$ and 0.99, over many coordinates.

# %% [markdown]
# #### Solution 12.8-3

# %% [markdown]
# After $k$ steps the expectation of $s$ is $4-3\gamma^k$ in units of the old variance, and it passes the middle, 2.5, at $\gamma^k=\frac12$: after the half-life, rounded up.

# %%
for gamma in (0.9, 0.99):
    rng = torch.Generator().manual_seed(3)
    x, state, mean = torch.zeros(20_000), {}, []
    for step in range(700):
        g = torch.randn(20_000, generator=rng) * (1 if step < 500 else 2)
        rmsprop([x], [g], state, {"lr": 0.01, "gamma": gamma})
        mean.append(state["s"][0].mean().item())
    took = 1 + next(k for k, s in enumerate(mean[500:]) if s >= 2.5)
    print(f"gamma {gamma}: {took} steps, half-life {half_life(gamma):.1f}")
    assert abs(took - half_life(gamma)) < 0.05 * half_life(gamma) + 1
    assert abs(mean[499] - 1) < 0.02

# %% [markdown]
# ### Exercise 12.8-4
#
# With `centered=True` PyTorch divides by the root of the leaky variance, $s_t-m_t^2$ with a leaky mean $m_t$ of the gradients (Graves, 2013).
# What happens under a constant gradient?
# Derive the size of step $t$, compare, and continue to step 400 in double precision.

# %% [markdown]
# #### Solution 12.8-4

# %% [markdown]
# With $w=1-\gamma^t$ both averages have the same missing weight, so the variance is $wg^2-w^2g^2=\gamma^t(1-\gamma^t)g^2$.
# It tends to 0, and the step $\eta/\sqrt{\gamma^t(1-\gamma^t)}$ grows like $\gamma^{-t/2}$: certainty is punished with huge steps.
# After 100 steps it is 194 times $\eta$.
# Then rounding takes over: the difference of two nearly equal numbers can come out negative, and its root is not a number.

# %% tags=["generated"]
p = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
optimizer = torch.optim.RMSprop([p], lr=1.0, alpha=0.9, centered=True)
moves = []
for t in range(400):
    before = p.detach().clone()
    p.grad = torch.tensor([1.0, 0.1, 0.3], dtype=torch.float64)
    optimizer.step()
    moves.append((p.detach() - before).abs())
moves = torch.stack(moves)
t = torch.arange(1, 101, dtype=torch.float64)
ratio = (0.9**t * (1 - 0.9**t)) ** -0.5
torch.testing.assert_close(moves[:100], ratio[:, None].expand(100, 3),
                           rtol=1e-3, atol=0)
assert moves[99, 0] > 190 and not (moves[-1] < 1e5).any()
print(f"not a number: {int(moves[-1].isnan().sum())} of 3 parameters")

# %% [markdown]
# ## Sources
#
# - T. Tieleman and G. Hinton, *Rmsprop: divide the gradient by a running average of its recent magnitude*, lecture 6 of *Neural networks for machine learning* (2012): [slides](https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf).
# - PyTorch, [`torch.optim.RMSprop`](https://pytorch.org/docs/stable/generated/torch.optim.RMSprop.html): the place of $\epsilon$, the defaults and `centered`.
# - A. Graves, *Generating sequences with recurrent neural networks* (2013), [arXiv:1308.0850](https://arxiv.org/abs/1308.0850): the centred version.
# - S. J. Reddi, S. Kale and S. Kumar, *On the convergence of Adam and beyond*, ICLR 2018, [arXiv:1904.09237](https://arxiv.org/abs/1904.09237): the divergence.
# - N. Shi, D. Li, M. Hong and R. Sun, *RMSprop converges with proper hyper-parameter*, ICLR 2021, [OpenReview](https://openreview.net/forum?id=3UDSdyIcBDA).
# - J. M. Cohen et al., *Adaptive gradient methods at the edge of stability* (2022), [arXiv:2207.14484](https://arxiv.org/abs/2207.14484).
# - J. M. Cohen et al., *Understanding optimization in deep learning with central flows*, ICLR 2025, [arXiv:2410.24206](https://arxiv.org/abs/2410.24206).
