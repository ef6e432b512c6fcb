# ---
# jupyter:
#   d2l:
#     data: [airfoil, sentence-polarity]
#     profiles:
#       gpu:
#         num_train: 8000
#         num_epochs: 2
#         long_epochs: 8
#         rounds: 2000
#       smoke:
#         num_train: 800
#         num_epochs: 1
#         long_epochs: 1
#         rounds: 100
#     rehearsal:
#       num_train: 0.1
#       num_epochs: 0.5
#       long_epochs: 0.25
#       rounds: 0.1
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
# # 12.7 Adagrad
#
# One learning rate for all parameters is a compromise.
# In a model of text, the weight of "the" receives a gradient in nearly every batch and the weight of "riveting" in a few of them, and yet one rate has to serve both.
# *Adagrad* gives each parameter a rate of its own, computed from the gradients that this parameter has seen.
# Where does that help, and how much of the help is only a rate that decays?
#
# **You will**
#
# - derive Adagrad's per-coordinate rates from rare features and from preconditioning, and test your code against PyTorch's;
# - predict when the rates keep falling and when they settle;
# - prove its regret bound and measure two games against it;
# - measure on real text what its rates buy, with the decay alone as a control, and find a data set on which they cost accuracy.
#
# **Cost**: about 20 seconds on a CPU, no use of a GPU, a download of 0.5 MB, once.

# %%
import math
from collections import Counter
from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

import d2l_helpers as d2l
from d2l_helpers.chapters.optimization import (
    Airfoil, on, sgd, show_trace_2d, train_2d, train_opt)

d2l.use_style()

# %% tags=["parameters"]
num_train = 8000  # sentences for training; the others are held out
num_epochs = 2
long_epochs = 8
num_seeds = 3
rounds = 2000  # of the games against the regret bound

# %% [markdown]
# ## A rate for each coordinate
#
# The noise of minibatches asks for a rate that falls with time ([Section 12.4](04-sgd.ipynb)).
# But whose time?
# The weight of a word that occurs once in a thousand sentences has hardly moved when a common schedule has already made all steps small.
# A better clock is the coordinate's own: let $s(i,t)$ count how often feature $i$ has occurred up to step $t$, and use the rate
#
# $$\eta_i(t)=\frac{\eta_0}{\sqrt{s(i,t)+c}}, \tag{12.7.1}$$
#
# with a base rate $\eta_0$ and a constant $c>0$.
#
# ![Two timelines with marks where a word occurs: a frequent word has many, a rare word three. Below each, its learning rate falls by a step at every mark. The rate of the frequent word is soon small; the rare word keeps a large one. A dashed curve shows a common schedule, which has fallen long before the rare word occurs.](img/adagrad-clocks.svg)
#
# **Figure 12.7.1.** Rates by (12.7.1) with $c=1$ (solid) and by a common schedule $\eta_0/\sqrt t$ (dashed): a rare word that occurs late still takes a large step.
#
# Counting presupposes that a feature is present or absent.
# Adagrad replaces the count by the sum of the squared gradients, which also says how large the feature's signals are.
# With the gradient $\mathbf{g}_t\in\mathbb{R}^d$ and $\mathbf{s}_0=\mathbf{0}$,
#
# $$\mathbf{s}_t=\mathbf{s}_{t-1}+\mathbf{g}_t^2,\qquad \mathbf{x}_t=\mathbf{x}_{t-1}-\frac{\eta}{\sqrt{\mathbf{s}_t}+\epsilon}\odot\mathbf{g}_t, \tag{12.7.2}$$
#
# where squares, roots and divisions work entry by entry, and a small $\epsilon$ guards against division by 0.
# Take a constant gradient of 3 and $\eta=1$.
# Then $s$ is 9, 18, 27, and the steps are 1, $1/\sqrt2$, $1/\sqrt3$: the size of the gradient cancels, its history remains.
# Duchi, Hazan and Singer published the method in 2011, after a report of 2010; in 2010 Streeter and McMahan, too, analyzed rates per coordinate, as an online form of diagonal preconditioning.

# %% tags=["export"]
def adagrad(params, grads, state, hyper):
    """One step of Adagrad, in place; "lr" and "eps" (default 1e-10)."""
    squares = state.setdefault("s", [torch.zeros_like(p) for p in params])
    for p, g, s in zip(params, grads, squares, strict=True):
        s += g**2
        p -= hyper["lr"] * g / (s.sqrt() + hyper.get("eps", 1e-10))

# %%
# check 12.7-C2: the first step is the rate, whatever the gradient's size
def steps_for(grads, **hyper):
    """The steps (t, d) that Adagrad takes for gradients (t, d)."""
    x, state, path = torch.zeros_like(grads[0]), {}, []
    for g in grads:
        before = x.clone()
        adagrad([x], [g], state, hyper)
        path.append(x - before)
    return torch.stack(path)


sizes = torch.tensor([[1.0, -2.0, 300.0, 1e-4]], dtype=torch.float64)
torch.testing.assert_close(steps_for(sizes, lr=0.4),
                           -0.4 * sizes.sign(), rtol=2e-6, atol=0)

# %%
# check 12.7-C3: a constant gradient leads as far as the sum of 1/sqrt(t)
t = torch.arange(1, 101, dtype=torch.float64)
steps = steps_for(torch.full((100, 1), 3.0, dtype=torch.float64), lr=1.0)
torch.testing.assert_close(steps[:, 0], -t.rsqrt())
assert abs(steps.sum() + 18.5896) < 5e-5 and -steps.sum() < 2 * math.sqrt(100)

# %% [markdown]
# Under a constant gradient the distance grows like $2\eta\sqrt t$: without bound, but ever more slowly.
#
# Texts and libraries differ in one detail, the place of $\epsilon$.
# PyTorch adds it outside the root, as in (12.7.2), with the default $10^{-10}$; others write $\sqrt{\mathbf{s}_t+\epsilon}$.
# That is the same as no $\epsilon$ and an accumulator that starts at $\epsilon$, which PyTorch offers as `initial_accumulator_value`.
# For gradients much smaller than $\sqrt\epsilon$ the two differ greatly.

# %%
def adagrad_inside(params, grads, state, hyper):
    """Adagrad with "eps" inside the root: s starts there."""
    state.setdefault("s", [torch.full_like(p, hyper["eps"]) for p in params])
    adagrad(params, grads, state, {**hyper, "eps": 0})


for variant in (adagrad, adagrad_inside):
    x, g = torch.zeros(2, 3, dtype=torch.float64)
    g[:2] = torch.tensor([1, 1e-9])
    variant([x], [g], {}, {"lr": 1, "eps": 1e-10})
    print(f"{variant.__name__}: first steps {x[0]:.4f} and {x[1]:.5f}")
    tiny = -1 / 1.1 if variant is adagrad else -1e-9 / math.sqrt(1e-10 + 1e-18)
    assert x[2] == 0 and abs(x[1] / tiny - 1) < 1e-6

# %%
# check 12.7-C4: equal to torch.optim.Adagrad for 50 steps
rng = torch.Generator().manual_seed(127)
shapes = [(5, 3), (3,)]
for step, kwargs in ((adagrad, {"eps": 1e-10}), (adagrad, {"eps": 0.1}),
                     (adagrad_inside, {"eps": 0.1})):
    ours = [torch.randn(s, generator=rng, dtype=torch.float64) for s in shapes]
    theirs = [p.clone().requires_grad_() for p in ours]
    optimizer = torch.optim.Adagrad(theirs, lr=0.3, **(
        kwargs if step is adagrad
        else {"eps": 0, "initial_accumulator_value": 0.1}))
    state = {}
    for _ in range(50):
        grads = [torch.randn(s, generator=rng, dtype=torch.float64)
                 for s in shapes]
        for p, g in zip(theirs, grads):
            p.grad = g
        optimizer.step()
        step(ours, grads, state, {"lr": 0.3, **kwargs})
        for p, q in zip(ours, theirs):
            torch.testing.assert_close(p, q.detach(), rtol=1e-12, atol=1e-12)

# %% tags=["hide-input"]
# check: the default of eps, the caller's gradients, one state a tensor
x, g = torch.zeros(2), torch.tensor([1e-10, 0.0])
state = {}
adagrad([x], [g], state, {"lr": 1.0})
assert abs(x[0] + 0.5) < 1e-6 and g[0] > 0 and x[1] == 0
assert [s.shape for s in state["s"]] == [x.shape]
try:
    adagrad([x, x], [g], {}, {"lr": 1.0})
    raise AssertionError("a gradient was missing")
except ValueError:
    pass

# %% [markdown]
# ## The canyon, aligned and turned
#
# Our second view of Adagrad needs no noise.
# On the canyon $f(\mathbf{x})=0.1x_1^2+2x_2^2$ of [Section 12.6](06-momentum.ipynb) gradient descent has to choose a rate for the steep coordinate and then creeps along the flat one.

# %%
# check 12.7-C1: the canyon, 20 steps, eps = 1e-6 inside the root
def canyon(x):
    """0.1 x1^2 + 2 x2^2 for x (2,): curvatures 0.2 and 4."""
    return 0.1 * x[0] ** 2 + 2 * x[1] ** 2


for lr, end in ((0.4, (-2.382563, -0.158591)), (2, (-0.00229534, 0))):
    path = train_2d(on(canyon, adagrad_inside, lr=lr, eps=1e-6))
    torch.testing.assert_close(path[-1], path.new_tensor(end),
                               rtol=0, atol=1e-6)
assert 0 < path[-1, 1].abs() < 1e-100
# check 12.7-C5: 1000 f gives the same path, if eps = 0
paths = [train_2d(on(lambda x: c * canyon(x), adagrad, lr=0.4, eps=0))
         for c in (1, 1000)]
torch.testing.assert_close(*paths)

# %% [markdown]
# Apart from $\epsilon$, a factor in front of $f$ cancels in (12.7.2).
# If $f$ is a sum of functions of one coordinate each, it cancels for each coordinate separately.
# So on a canyon along the axes, coordinates that start at the same distance take the same path, whatever their curvatures: the condition number has dropped out entirely.

# %%
same = train_2d(on(canyon, adagrad, lr=2.0, eps=0), (-5.0, -5.0))
torch.testing.assert_close(same[:, 0], same[:, 1], rtol=1e-12, atol=0)

# %% tags=["hide-input"]
def turned(angle, f=canyon):
    """f in coordinates turned by `angle` degrees, and the rotation."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    R = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return (lambda x: f(R.T.to(x.dtype) @ x)), R


def draw(fig, rate, angle):
    f, R = turned(angle)
    start = tuple((R @ R.new_tensor([-5.0, -2.0])).tolist())
    ax = show_trace_2d(f, {"": train_2d(on(f, adagrad, lr=rate), start)},
                       fig.subplots(), (-6, 6), (-6, 6))
    ax.set_title(rf"$\eta={rate}$, turned by {angle:.0f}°", fontsize=9)


d2l.sliders(draw, """Elliptic contours of a canyon with 20 steps of Adagrad.
    Along the axes the second coordinate, which starts nearer to 0, is there
    first, and the path ends on the axis; in the turned canyon it falls to the
    floor and then follows it slowly.""",
            figsize=(3.6, 3.2), rate=[0.4, 1, 2, 4], angle=[0, 15, 30, 45])

# %% [markdown]
# **Figure 12.7.2.** Twenty steps of Adagrad on the canyon, turned together with its start.
# Gradient descent would take the same path at every angle, turned; Adagrad does not.

# %% tags=["hide-input"]
# check: turning is a rotation; gradient descent follows it, Adagrad not
f, R = turned(30)
torch.testing.assert_close(R @ R.T, torch.eye(2, dtype=torch.float64))
assert abs(R[0, 0] - math.sqrt(3) / 2) < 1e-12 and abs(R[1, 0] - 0.5) < 1e-12
start = torch.tensor([-5.0, -2.0], dtype=torch.float64)
for step, rotates in ((sgd, True), (adagrad, False)):
    plain = train_2d(on(canyon, step, lr=0.2))
    other = train_2d(on(f, step, lr=0.2), tuple((R @ start).tolist()))
    assert torch.allclose(other, plain @ R.T, atol=1e-8) == rotates

# %% [markdown]
# ## A diagonal preconditioner
#
# Let $\mathbf{Q}\in\mathbb{R}^{d\times d}$ be the Hessian of a quadratic, with eigenvalues $\Lambda_1\ge\dots\ge\Lambda_d>0$ and eigenvectors in the rows of $\mathbf{U}$.
# The speed of gradient descent depends on the condition number $\kappa=\Lambda_1/\Lambda_d$ ([Section 12.3](03-gradient-descent.ipynb)).
# In the coordinates $\mathbf{z}=\boldsymbol\Lambda^{1/2}\mathbf{U}\mathbf{x}$ the function is $\frac12\|\mathbf{z}\|^2$ and $\kappa=1$, but eigenvectors cost $O(d^3)$ operations.
# The affordable version rescales by the diagonal $\mathbf{D}=\mathrm{diag}(\mathbf{Q})$.
# Steps $\mathbf{x}\leftarrow\mathbf{x}-\eta\mathbf{D}^{-1}\mathbf{Q}\mathbf{x}$ are gradient descent in $\mathbf{z}=\mathbf{D}^{1/2}\mathbf{x}$ with the Hessian
#
# $$\tilde{\mathbf{Q}}=\mathbf{D}^{-1/2}\mathbf{Q}\mathbf{D}^{-1/2},\qquad\tilde Q_{ii}=1, \tag{12.7.3}$$
#
# so its condition number decides.

# %%
def condition_numbers(Q):
    """Condition numbers of Q (..., d, d) before and after scaling."""
    scale = Q.diagonal(dim1=-2, dim2=-1).rsqrt()
    scaled = scale[..., :, None] * Q * scale[..., None, :]
    return tuple(eigs[..., -1] / eigs[..., 0] for eigs in (
        torch.linalg.eigvalsh(Q), torch.linalg.eigvalsh(scaled)))

# %%
# check 12.7-C6: bad scales vanish, correlations stay
R3 = torch.tensor([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1]],
                  dtype=torch.float64)
D3 = R3.new_tensor([0.1, 1, 30]).diag()
before, after = condition_numbers(D3 @ R3 @ D3)
print(f"three scales: {before:.0f} -> {after:.4f}")
assert abs(before - 120737) < 1 and abs(after - 3.4566) < 5e-5
origin = torch.zeros(2, dtype=torch.float64)
for angle, expected in ((0, 1), (45, 20)):
    H = torch.func.hessian(turned(angle)[0])(origin)
    before, after = condition_numbers(H)
    assert abs(before - 20) < 1e-9 and abs(after - expected) < 1e-9
# check 12.7-C7: Gershgorin's interval for a unit diagonal
def gershgorin(R):
    """[1 - r, 1 + r] with r the largest row sum off the diagonal."""
    r = (R.abs().sum(dim=-1) - 1).max()
    return 1 - r, 1 + r


low, high = gershgorin(R3)
eigs = torch.linalg.eigvalsh(R3)
assert abs(low - 0.2) < 1e-12 and abs(high - 1.8) < 1e-12
assert low < eigs[0] and eigs[-1] < high
equal = torch.full((3, 3), 0.6, dtype=torch.float64).fill_diagonal_(1)
low, high = gershgorin(equal)
assert low < 0 < torch.linalg.eigvalsh(equal)[0]

# %% [markdown]
# Three features on the scales 0.1, 1 and 30 had $\kappa$ above $10^5$; after scaling it is below 4.
# Why so small?
# By Gershgorin's theorem the eigenvalues of $\tilde{\mathbf{Q}}$ lie in $[1-r,1+r]$, where $r$ is the largest sum of magnitudes in a row off the diagonal.
# Here $r=0.8$, thus $\kappa\le9$.
# For correlations of 0.6 between all three, $r=1.2$ and the interval contains 0: the theorem gives no bound on $\kappa$, though $\kappa$ is only 5.5.
#
# Could another diagonal do better?
# Van der Sluis (1969) proved that for symmetric positive definite matrices it could gain at most a factor of $d$.
# A search over diagonals on 50 random $3\times3$ matrices:

# %%
rng = torch.Generator().manual_seed(0)
A = torch.randn(50, 4, 3, generator=rng, dtype=torch.float64)
_, kappa = condition_numbers(A.mT @ A)
grid = torch.linspace(-2, 2, 41, dtype=torch.float64).exp()
a, b = torch.meshgrid(grid, grid, indexing="ij")
unit = (A.mT @ A) / (A.square().sum(1)[:, :, None]
                     * A.square().sum(1)[:, None]).sqrt()  # diagonal 1
D = torch.stack((torch.ones_like(a), a, b), dim=-1).reshape(-1, 1, 3)
eigs = torch.linalg.eigvalsh(D[..., :, None] * unit * D[..., None, :])
gain = kappa / (eigs[..., -1] / eigs[..., 0]).amin(dim=0)
print(f"the best diagonal gains a factor of {gain.min():.2f} "
      f"to {gain.max():.2f}")
assert (1 <= gain * (1 + 1e-9)).all() and (gain < 3).all() and gain.max() > 1.1
assert abs(condition_numbers(equal)[1] - 5.5) < 1e-9

# %% [markdown]
# How much of this preconditioning does Adagrad do?
# It divides by $\sqrt{s_i}$, and that depends on where the gradients come from.
# Without noise, on a canyon along the axes and with coordinates that start at equal distances from the optimum, $s_i$ grows with the square of the curvature, and $1/\sqrt{s_i}\propto1/Q_{ii}$: the full $\mathbf{D}^{-1}$.
# If the gradients are mostly noise, its kind decides: in least squares near the optimum, with errors independent of the features, the variance is proportional to $Q_{ii}$, and $1/\sqrt{s_i}\propto Q_{ii}^{-1/2}$: half of it, in the exponent.
# A binary feature of frequency $p$ has $Q_{ii}=p$ in least squares, which brings back the counts of (12.7.1).

# %%
def rates_and_curvatures(noise, steps=2000, eta=0.1):
    """Final rates eta / sqrt(s) on nine curvatures from 0.01 to 1.

    Without noise from x = 1 by the exact gradient, else least squares on
    one example a step, from the optimum.
    """
    curvature = torch.logspace(-2, 0, 9, dtype=torch.float64)
    rng, state = torch.Generator().manual_seed(0), {}
    x = torch.full_like(curvature, 0.0 if noise else 1.0)
    for _ in range(steps):
        a = curvature.sqrt() * torch.randn(9, generator=rng, dtype=x.dtype)
        error = a @ x - torch.randn((), generator=rng, dtype=x.dtype)
        grad = error * a if noise else curvature * x
        adagrad([x], [grad], state, {"lr": eta, "eps": 0})
    return eta / state["s"][0].sqrt(), curvature


def slope(x, y):
    """The slope of log y against log x, by least squares."""
    x = x.log() - x.log().mean()
    return (x @ y.log() / (x @ x)).item()


exact, curvature = rates_and_curvatures(noise=False)
noisy, _ = rates_and_curvatures(noise=True)
assert abs(slope(curvature, exact) + 1) < 1e-9 and exact[-1] > 0.02
assert abs(slope(curvature, noisy) + 0.5) < 0.03
assert abs(noisy[-1] * math.sqrt(2000) / 0.1 - 1) < 0.1  # s = steps

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.8))
angles = torch.arange(0, 46, 3)
kappas = [condition_numbers(torch.func.hessian(turned(a)[0])(origin))
          for a in angles.tolist()]
left.plot(angles, [k[0] for k in kappas], label=r"$\kappa(\mathbf{Q})$")
left.plot(angles, [k[1] for k in kappas], "--",
          label=r"$\kappa(\tilde{\mathbf{Q}})$")
left.set(xlabel="canyon turned by (degrees)", ylabel="condition number",
         ylim=(0, 22))
left.legend()
for i, (name, rate, power) in enumerate([
        ("exact gradients", exact, -1), ("noise", noisy, -0.5)]):
    right.plot(curvature, rate / rate[-1], "os"[i], color=f"C{i}", label=name)
    right.plot(curvature, curvature**power, color=f"C{i}", lw=0.8)
right.set(xscale="log", yscale="log", xlabel="curvature $Q_{ii}$",
          ylabel="rate, relative")
right.legend()
d2l.describe(fig, """Left, condition number against the angle: 20 before
    scaling at all angles; after scaling it rises from 1 to 20 at 45 degrees.
    Right, Adagrad's rates against curvature with lines of slope minus 1 for
    exact gradients and minus one half for noise.""")

# %% [markdown]
# **Figure 12.7.3.** Left: what diagonal scaling can do for the canyon of Figure 12.7.2 depends on its angle.
# Right: the rates at which Adagrad arrives, against the curvature, with lines of slope $-1$ and $-\frac12$.
#
# Duchi, Hazan and Singer also define a full-matrix version, which multiplies by $(\sum_t\mathbf{g}_t\mathbf{g}_t^\top)^{-1/2}$ and follows rotations; its $d^2$ numbers are too many for networks.
# [Section 12.10](10-adam.ipynb) meets Shampoo, which approximates it by small factors.

# %% [markdown]
# ## When the rate stalls
#
# What happens to a coordinate's rate $\eta/\sqrt{s_t}$ in the long run?
# If its gradients keep a typical size $G$, then $s_t\approx tG^2$ and the rate keeps falling, like $\frac\eta G\,t^{-1/2}$.
# If they shrink geometrically, $\sum_tg_t^2$ converges, and so does the rate.
# "Adagrad stalls" is thus a statement about gradients that do not vanish: because of noise, a kink or a moving optimum.

# %%
def rates_on_canyon(sigma, start=(-5.0, -2.0), steps=3000, eta=2.0):
    """Rates (steps, 2) on the canyon, with noise on its gradient."""
    rng, state, history = torch.Generator().manual_seed(1), {}, []
    x = torch.tensor(start, dtype=torch.float64)
    curvatures = torch.tensor([0.2, 4.0], dtype=torch.float64)
    for _ in range(steps):
        noise = sigma * torch.randn(2, generator=rng, dtype=torch.float64)
        grad = curvatures * x + noise
        adagrad([x], [grad], state, {"lr": eta})
        history.append(eta / state["s"][0].sqrt())
    return torch.stack(history)


quiet, loud = rates_on_canyon(0.0), rates_on_canyon(1.0)
at_rest = rates_on_canyon(1.0, start=(0.0, 0.0))
time = torch.arange(1, 3001, dtype=torch.float64)
torch.testing.assert_close(quiet[-1], quiet[50], rtol=1e-6, atol=0)
assert quiet[0, 0] == 2 and (quiet[-1] > 5 * loud[-1]).all()
assert (loud[-1] * math.sqrt(3000) / 2 - 1).abs().max() < 0.1
assert abs(slope(time[300:], loud[300:, 0]) + 0.5) < 0.03
assert at_rest[0, 1] > 2 * loud[0, 1]  # no large first gradient,
assert at_rest[1, 1] < 1.2 * loud[1, 1]  # but a large second one
flat, steep = (4 / loud[-1]**2 - 3000).tolist()  # what s has beyond t
assert 0 < 4 / loud[9, 1]**2 - 10 < 0.2 * steep  # the first ten steps
assert abs(flat) < 200 and abs(steep / (8 * math.sqrt(3000)) - 1) < 0.25
assert abs(4 / at_rest[-1, 1]**2 - 3000 - steep) < 0.2 * steep

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.5, 2.8))
for i, (name, rate) in enumerate((("exact", quiet), ("noise", loud))):
    for j in range(2):
        ax.plot(time, rate[:, j], ["-", "--"][j], color=f"C{i}", lw=1.4,
                label=f"{name}, {['flat', 'steep'][j]}")
ax.plot(time, 2 * time.rsqrt(), "k:", lw=1, label=r"$2/\sqrt{t}$")
ax.set(xscale="log", yscale="log", xlabel="step $t$",
       ylabel="rate of the coordinate")
ax.legend(fontsize=8, ncols=2)
d2l.describe(ax, """Rates against steps, both logarithmic. With exact
    gradients the two curves become horizontal after a few steps; with noise
    both fall along the line 2 over root t.""")

# %% [markdown]
# **Figure 12.7.4.** Rates $\eta/\sqrt{s_t}$ of the two coordinates of the canyon, with $\eta=2$.
#
# With unit noise on the gradient both approach $2/\sqrt t$, the steep one from below.
# It is tempting to blame its first gradients, which were large.
# A run that starts at the optimum ends at nearly the same rate, but that does not acquit them: its first step has the length $\eta=2$, takes $x_2$ as far away and brings a second gradient as large.
# Counting does: the first ten gradients make up less than a fifth of what $s_t$ has beyond $t$ at the end.
# For the rest, noise keeps $x_2$ in motion, and with the curvature $\lambda=4$ this motion adds to the gradients.
# By the variance of [Section 12.4](04-sgd.ipynb) it adds about $\frac12\lambda\eta_t$ to the mean square, with $\eta_t=2/\sqrt t$ a total of $2\lambda\sqrt t$ in $s_t$; at the end this is within a quarter of what we measure.
#
# What a small rate costs shows when the optimum moves.
# After $T_0$ steps on $\frac12(x-c)^2$ we shift $c$ by 0.3 and count the steps until half of the new gap is closed.
# For unit noise, $x$ comes nearer by the factor $1-\eta/\sqrt t$ per step, so the number $k$ of steps solves $2\eta(\sqrt{T_0+k}-\sqrt{T_0})=\log2$: it grows like $\sqrt{T_0}$.

# %%
def steps_to_halve(T0, sigma, eta=0.5, shift=0.3, chains=4000):
    """Steps until the mean of `chains` runs has closed half the gap."""
    rng, state = torch.Generator().manual_seed(0), {}
    x, c, steps = torch.ones(chains), 0.0, 0
    while True:
        if steps == T0:
            c = x.mean().item() + shift
        if steps >= T0 and c - x.mean() <= shift / 2:
            return steps - T0
        noise = sigma * torch.randn(chains, generator=rng)
        adagrad([x], [x - c + noise], state, {"lr": eta})
        steps += 1


halving = {T0: (steps_to_halve(T0, 0.0), steps_to_halve(T0, 1.0))
           for T0 in (100, 400, 1600)}
for T0, (without, with_noise) in halving.items():
    k = (math.sqrt(T0) + math.log(2)) ** 2 - T0  # as 2 eta = 1
    print(f"T0 = {T0}: {without} steps without noise, {with_noise} with; "
          f"predicted {k:.1f}")
    assert without == halving[100][0] and abs(with_noise / k - 1) < 0.15

# %% [markdown]
# Without noise nothing is lost by waiting.
# With noise, the longer the method has run, the more slowly it follows: right for a fixed target, wrong for a moving one.
# [Section 12.8](08-rmsprop.ipynb) lets the sum forget.

# %% [markdown]
# ## What the rates guarantee
#
# Duchi, Hazan and Singer proved a bound that needs no stationary data, let alone curvature.
# In round $t$ we choose $\mathbf{x}_t$ in a box with sides of length $D$, then see a convex loss $f_t$ and a gradient $\mathbf{g}_t$ of it at $\mathbf{x}_t$.
# The *regret* after $T$ rounds is our loss minus that of the best fixed point $\mathbf{u}$ of the box, and convexity bounds it coordinate by coordinate:
#
# $$\sum_{t=1}^T\left(f_t(\mathbf{x}_t)-f_t(\mathbf{u})\right)\le\sum_{i=1}^d\sum_{t=1}^Tg_{t,i}(x_{t,i}-u_i). \tag{12.7.4}$$
#
# In one coordinate, with rate $\eta_t=\eta/\sqrt{s_t}$, clipping the result to the box does not increase the distance to $u$, thus $(x_{t+1}-u)^2\le(x_t-u)^2-2\eta_tg_t(x_t-u)+\eta_t^2g_t^2$.
# Solve for $g_t(x_t-u)$ and sum over $t$.
# As $1/\eta_t$ grows and $(x_t-u)^2\le D^2$, the differences of squares add up to at most $D^2/(2\eta_T)=D^2\sqrt{s_T}/(2\eta)$.
# For the rest, $g_t^2=s_t-s_{t-1}\le2\sqrt{s_t}(\sqrt{s_t}-\sqrt{s_{t-1}})$ gives $\frac\eta2\sum_tg_t^2/\sqrt{s_t}\le\eta\sqrt{s_T}$.
# With $\eta=D/\sqrt2$ and the vector $\mathbf{g}_{1:T,i}$ of all gradients of coordinate $i$,
#
# $$\text{regret}\le\sqrt2\,D\sum_{i=1}^d\|\mathbf{g}_{1:T,i}\|_2. \tag{12.7.5}$$
#
# Now use one accumulator for all coordinates, $s_t=s_{t-1}+\|\mathbf{g}_t\|^2$.
# This *AdaGrad-Norm* has the same falling rate without the differences between coordinates, and will serve as our control.
# The same proof with the diagonal $D\sqrt d$ of the box gives $\sqrt2\,D\sqrt d\,(\sum_i\|\mathbf{g}_{1:T,i}\|^2)^{1/2}$, which, for the same gradients, is by the Cauchy-Schwarz inequality never smaller than (12.7.5), and equal to it only if all $\|\mathbf{g}_{1:T,i}\|$ are equal.
# So different frequencies are what Adagrad's bound rewards.
# An average regret that goes to 0 also means convergence for independent samples of a convex risk: the average iterate has at most this expected excess ([Section 12.4](04-sgd.ipynb)).

# %%
def adagrad_norm(params, grads, state, hyper):
    """One step of AdaGrad-Norm, in place: one sum for all coordinates.

    Coordinates lie along the first axis; columns are separate runs.
    """
    total = sum((g**2).sum(dim=0) for g in grads)
    state["s"] = state.get("s", 0) + total
    for p, g in zip(params, grads, strict=True):
        p -= hyper["lr"] * g / (state["s"].sqrt() + 1e-10)


def play(step, lr, gradient, shape):
    """Points and gradients (rounds, *shape) of a game on the box [-1, 1].

    `gradient(t, x)` is that of the loss of round t at x.
    """
    x, state = torch.zeros(shape, dtype=torch.float64), {}
    points, grads = [], []
    for t in range(rounds):
        points.append(x.clone())
        grads.append(gradient(t, x))
        step([x], [grads[-1]], state, {"lr": lr})
        x.clamp_(-1, 1)
    return torch.stack(points), torch.stack(grads)

# %% tags=["hide-input"]
# check: one sum over all tensors, for each column
x, state = [torch.zeros(2, 2), torch.zeros(1, 2)], {}
g = [torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[4.0, 0.0]])]
for _ in range(2):
    adagrad_norm(x, g, state, {"lr": 1.0})
for p, q in zip(x, g):
    torch.testing.assert_close(
        p, -q / torch.tensor([5.0, 1.0]) * (1 + 1 / math.sqrt(2)))

# %% [markdown]
# Two games, with $d=20$ coordinates of which number $i$ takes part in a round with probability $p_i$, from 0.5 down to 0.0005.
# In the game of coins the loss of such a coordinate is $\pm x_i$ with a random sign.
# Any player's expected loss is 0, while hindsight wins $\frac D2|\sum_tg_{t,i}|$: the expected regret is about $\frac D2\sum_i\sqrt{2p_iT/\pi}$, whatever the method.
# In the corner game the loss is $|x_i-c_i|$ with $c_i=\pm0.8$.

# %%
d, chains, D = 20, 20, 2
p = torch.logspace(math.log10(0.5), math.log10(0.0005), d,
                   dtype=torch.float64)[:, None]
rng = torch.Generator().manual_seed(12)
assert abs(p[0] - 0.5) < 1e-9 and abs(p[-1] - 0.0005) < 1e-9
part = torch.rand(rounds, d, chains, generator=rng, dtype=p.dtype) < p
sign = 2.0 * (torch.rand(part.shape, generator=rng) < 0.5) - 1
c = 0.8 * torch.ones(d, 1).double()
c[::2] *= -1
regret, bound = {}, {}
for step, lr in ((adagrad, D / math.sqrt(2)),
                 (adagrad_norm, D * math.sqrt(d / 2))):
    x, g = play(step, lr, lambda t, x: part[t] * sign[t], (d, chains))
    assert x.abs().max() == 1  # players reach the wall, and stay inside
    regret["coins", step] = ((g * x).sum(dim=1).cumsum(dim=0)
                             + g.cumsum(dim=0).abs().sum(dim=1))
    x, g = play(step, lr, lambda t, x: part[t] * (x - c).sign(), (d, chains))
    regret["corner", step] = (part * (x - c).abs()).sum(dim=1).cumsum(dim=0)
    squares = g.square().cumsum(dim=0)
    bound[step] = math.sqrt(2) * D * (
        squares.sqrt().sum(dim=1) if step is adagrad
        else (d * squares.sum(dim=1)).sqrt())

# %% tags=["rtol=0.1"]
for (game, step), values in regret.items():
    assert (values <= bound[step]).all()
    share = (values / bound[step])[-1].mean()
    print(f"{game}, {step.__name__}: {share:.2f} of its bound")
assert (bound[adagrad] <= bound[adagrad_norm]).all()
time = torch.arange(1, rounds + 1, dtype=torch.float64)
coins = (2 * time[:, None] / math.pi * p[:, 0]).sqrt().sum(dim=1) * D / 2
ratios = [(regret["coins", step].mean(dim=1) / coins)[-1]
          for step in (adagrad, adagrad_norm)]
first, second = (regret["corner", s][-1] for s in (adagrad, adagrad_norm))
if rounds >= 2000:
    assert all(abs(ratio - 1) < 0.2 for ratio in ratios)
    assert (first < 0.95 * second).all()

# %% tags=["rtol=0.1"]
grid = torch.tensor([0.01, 0.03, 0.1, 0.3, 1, 3], dtype=torch.float64)
tuned = []
for step, lr in ((adagrad, D / math.sqrt(2)),
                 (adagrad_norm, D * math.sqrt(d / 2))):
    x, _ = play(step, lr * grid, lambda t, x: part[t, ..., None] * (
        x - c[..., None]).sign(), (d, chains, len(grid)))
    total = (part[..., None] * (x - c[..., None]).abs()).sum(dim=(0, 1))
    best = total.mean(dim=0).argmin()
    tuned.append(total[:, best])
    print(f"corner, {step.__name__}: {tuned[-1].mean():.0f} at "
          f"{grid[best]:.2f} of the theorem's rate, "
          f"{total[:, 4].mean():.0f} at that rate")
    torch.testing.assert_close(total[:, 4], regret["corner", step][-1])
    if rounds >= 2000:
        assert 0 < best < 5 and tuned[-1].mean() < 0.5 * total[:, 4].mean()
if rounds >= 2000:
    assert (tuned[0] < tuned[1]).all()

# %% tags=["hide-input"]
shown = time[9:].tolist()
lines = {"Adagrad's bound (12.7.5)": bound[adagrad],
         "bound of AdaGrad-Norm": bound[adagrad_norm],
         "corner, Adagrad": regret["corner", adagrad],
         "corner, AdaGrad-Norm": regret["corner", adagrad_norm],
         "coins, Adagrad": regret["coins", adagrad]}
fig, ax = plt.subplots(figsize=(5.5, 3.2))
for i, (name, values) in enumerate(lines.items()):
    ax.plot(shown, values.mean(dim=1)[9:], ["-", "--"][i % 2], lw=1.5,
            color=f"C{[0, 0, 1, 1, 3][i]}", label=name)
ax.plot(shown, coins[9:], "k:", lw=1, label="coins, any method (theory)")
ax.set(xscale="log", yscale="log", xlabel="rounds $T$", ylabel="regret")
ax.legend(fontsize=7.5)
d2l.describe(ax, """Regret against rounds, both logarithmic. The two bounds are
    highest and rise with slope one half. Below lie the two measured curves
    of the game corner, Adagrad under AdaGrad-Norm, and lowest the game of
    coins, on its dotted theoretical line.""")

# %% [markdown]
# **Figure 12.7.5.** Measured regret, mean of 20 games, against the bounds; each method uses the rate of its own theorem.
#
# Every game stays below its bound.
# The coins show that the power of $T$ and the sum over coordinates are right: every method's expected regret there is about $\frac D2\sum_i\sqrt{2p_iT/\pi}$, and that is (12.7.5), with $\sqrt{p_iT}$ for the norms, divided by $2\sqrt\pi\approx3.5$.
# In the corner game Adagrad's regret is smaller than that of AdaGrad-Norm in all 20 games, with the rates of the theorems and with the best of six rates for each.
# The theorem's rate protects against the worst sequence of losses; on these, a smaller one more than halves the regret of either method.

# %% [markdown]
# ## Rare words
#
# Now the case for which Adagrad was made.
# The data are 10,662 sentences from film reviews, half of them positive (Pang and Lee, 2005).
# A sentence becomes the set of its words, punctuation marks included; words that occur in fewer than two training sentences are dropped.
# We store only the numbers of the words that are present.

# %%
class Bags(NamedTuple):
    """Sets of words with labels; the first `num_train` are for training.

    Row i of `index` (n, longest) has the numbers of the words in sentence
    i, filled up with the number of words d. `y` (n,) is 0 or 1, `counts`
    (d,) says in how many training sentences a word occurs.
    """

    index: torch.Tensor
    y: torch.Tensor
    counts: torch.Tensor
    num_train: int
    words: list[str]
    source: str


def polarity_bow(min_count=2, seed=0):
    """The sentences in an order drawn from `seed`, as `Bags`."""
    found = d2l.fetch("sentence-polarity")
    rows = [(set(line.split()), float(name.endswith("pos")))
            for name in ("rt-polarity.pos", "rt-polarity.neg")
            for line in found.files[name].read_text("utf-8").splitlines()]
    rng = torch.Generator().manual_seed(seed)
    rows = [rows[i] for i in torch.randperm(len(rows), generator=rng)]
    counts = Counter(w for row, _ in rows[:num_train] for w in row)
    words = sorted(w for w, count in counts.items() if count >= min_count)
    number = {w: i for i, w in enumerate(words)}
    index = pad_sequence([torch.tensor(
        sorted(number[w] for w in row if w in number), dtype=torch.int64)
        for row, _ in rows], True, len(words))
    return Bags(index, torch.tensor([y for _, y in rows]), torch.tensor(
        [counts[w] for w in words]), num_train, words, found.source)

# %%
splits = [polarity_bow(seed=seed) for seed in range(num_seeds + 1)]
data = splits[0]
d = len(data.words)
present = data.index < d
print(f"{len(data.y) - num_train} sentences held out, {d} words, "
      f"{present.sum(dim=1).double().mean():.1f} words a sentence; the "
      f"median word occurs in {data.counts.double().quantile(0.5):.0f}")
real = data.source == "real"
if real and num_train == 8000:
    assert len(data.y) == 10662 and abs(d - 8650) < 100
    assert data.y.sum() == 5331 and data.counts.median() == 4

# %% [markdown]
# The model is logistic regression: one weight for each word present, and a bias.
# The loop below trains one model for each of several rates side by side, all on the same batches, by any optimizer of this chapter.

# %%
def train_bags(step, rates, data, seed, epochs, batch_size=32):
    """Train logistic regression on `data`, one model for each rate.

    The batches are shuffled from `seed`. Returns the weights (d, rates)
    and the accuracies (rates,) on what was held out.
    """
    n, d, k = data.num_train, len(data.counts), len(rates)
    W, b, state = torch.zeros(d, k), torch.zeros(1, k), {}
    hyper = {"lr": torch.tensor(rates),
             "steps": epochs * math.ceil(n / batch_size),
             "counts": [data.counts[:, None], torch.tensor([[n]])]}
    rng = torch.Generator().manual_seed(seed)

    def scores(index):
        return F.pad(W, (0, 0, 0, 1))[index].sum(dim=1) + b  # (rows, k)

    for _ in range(epochs):
        for i in torch.randperm(n, generator=rng).split(batch_size):
            index = data.index[i]  # (rows, longest)
            error = (scores(index).sigmoid() - data.y[i, None]) / len(i)
            grad = torch.zeros(d + 1, k).index_add_(
                0, index.flatten(), error.repeat_interleave(
                    index.shape[1], dim=0))
            step([W, b], [grad[:d], error.sum(dim=0, keepdim=True)], state,
                 hyper)
    right = (scores(data.index[n:]) > 0) == (data.y[n:, None] > 0.5)
    return W, right.double().mean(dim=0)

# %% tags=["hide-input"]
# check: the gradient is that of the loss, every sentence is seen once
small = Bags(torch.tensor([[0, 1], [1, 2], [2, 2], [0, 2]]),
             torch.tensor([1.0, 0, 1, 0]), torch.tensor([2, 2]), 3, [], "")
W, b = (torch.zeros(s, requires_grad=True) for s in ((2, 1), (1, 1)))
X = torch.tensor([[1.0, 1], [0, 1], [0, 0]])
for _ in range(2):
    F.binary_cross_entropy_with_logits(
        (X @ W + b)[:, 0], small.y[:3]).backward()
    with torch.no_grad():
        for q in (W, b):
            q -= 2.0 * q.grad
            q.grad = None
ours, accuracy = train_bags(sgd, [1.0, 2.0], small, 0, 2, 3)
torch.testing.assert_close(ours[:, 1:], W.detach())
assert accuracy[1] == float(W[0] + b <= 0) and ours.shape == (2, 2)
seen = []
train_bags(lambda params, grads, state, hyper: seen.append(
    (grads[1].item(), hyper["steps"])), [1.0], small, 0, 2, 1)
assert len(seen) == 6 == seen[0][1]
for epoch in (seen[:3], seen[3:]):  # errors -1/2, 1/2, -1/2
    assert sum(e for e, _ in epoch) == -0.5
middle = int(splits[1].counts.median())
bags = polarity_bow(min_count=middle, seed=1)
assert bags.counts.min() == middle and (splits[1].y == bags.y).all()
assert (bags.y != data.y).any()
again = train_bags(adagrad, [0.1], bags, 3, 1)[0]
assert not torch.equal(again, train_bags(adagrad, [0.1], bags, 4, 1)[0])
for bag in (data, bags):
    hits = torch.zeros(len(bag.words) + 1).index_add_(
        0, bag.index[:num_train].flatten(),
        torch.ones(bag.index[:num_train].numel()))
    assert torch.equal(hits[:-1].long(), bag.counts)

# %% [markdown]
# Six arms, which differ in two properties, rates per coordinate and rates that fall:
#
# - Adagrad: rates per coordinate, falling.
# - counts: the rates (12.7.1), with $c=1$ and $s$ the number of batches in which the word has occurred.
# - fixed: rates per word, constant. Each is (12.7.1) with the count of the whole training set, known in advance.
# - AdaGrad-Norm: one rate, falling in the same way.
# - decayed SGD: one rate, falling linearly to 0.
# - SGD: one constant rate.
#
# All take the same number of steps with batches of 32.
# Each has six rates, a factor of about 3 apart; the one with the best held-out accuracy on seed 0 is used for seeds 1 to 3, each with its own split into 8000 training and 2662 held-out sentences.

# %%
def counted(params, grads, state, hyper):
    """One step with the rates (12.7.1) for c = 1, in place."""
    seen = state.setdefault("s", [torch.ones_like(p) for p in params])
    for p, g, s in zip(params, grads, seen, strict=True):
        s += g != 0
        p -= hyper["lr"] * g / s.sqrt()


def fixed(params, grads, state, hyper):
    """One step with constant rates, from "counts" (a list), in place."""
    for p, g, s in zip(params, grads, hyper["counts"], strict=True):
        p -= hyper["lr"] * g / (1.0 + s).sqrt()


def decayed(params, grads, state, hyper, step=sgd):
    """One step of `step`, its rate falling linearly to 0 at "steps"."""
    left = 1 - state.get("t", 0) / hyper["steps"]
    state["t"] = state.get("t", 0) + 1
    step(params, grads, state, {"lr": hyper["lr"] * left})


def compare(arms, run):
    """For each arm the best rate on seed 0, and the scores with it.

    `arms` maps a name to an optimizer and its rates, `run(step, rates,
    seed)` gives a score for each rate. Returns {name: (position of the
    best rate, scores (num_seeds,))}.
    """
    results = {}
    for name, (step, rates) in arms.items():
        best = int(run(step, rates, 0).argmax())
        results[name] = best, torch.stack([
            run(step, [rates[best]], seed)[0]
            for seed in range(1, num_seeds + 1)])
    return results

# %%
x, state = torch.ones(2), {}
for _ in range(2):
    counted([x], [torch.tensor([2.0, 0.0])], state, {"lr": 1.0})
torch.testing.assert_close(x, torch.tensor([1 - 2**0.5 - 2 / 3**0.5, 1]))
x = torch.zeros(2)
for _ in range(2):
    fixed([x], [torch.ones(2)], {}, {"lr": 1.0,
                                     "counts": [torch.tensor([0, 3])]})
assert x.tolist() == [-2, -1]
x, state = torch.zeros(1), {}
for _ in range(4):
    decayed([x], [torch.ones(1)], state, {"lr": 1.0, "steps": 4})
assert x == -(1 + 0.75 + 0.5 + 0.25)
fake = compare({"a": (sgd, [1, 2, 3])}, lambda step, rates, seed:
               torch.tensor([10.0 * seed - abs(r - 2) for r in rates]))
assert fake["a"][0] == 1
assert fake["a"][1].tolist() == [10 * (s + 1) for s in range(num_seeds)]

# %%
arms = {"Adagrad": (adagrad, [0.01, 0.03, 0.1, 0.3, 1, 3]),
        "counts": (counted, [0.3, 1, 3, 10, 30, 100]),
        "fixed": (fixed, [1, 3, 10, 30, 100, 300]),
        "AdaGrad-Norm": (adagrad_norm, [0.3, 1, 3, 10, 30, 100]),
        "decayed SGD": (decayed, [0.1, 0.3, 1, 3, 10, 30]),
        "SGD": (sgd, [0.1, 0.3, 1, 3, 10, 30])}


def on_text(epochs, splits=splits):
    """A `run` for `compare`: accuracy on held-out sentences."""
    return lambda step, rates, seed: train_bags(
        step, rates, splits[seed], seed, epochs)[1]


text = compare(arms, on_text(num_epochs))
two = {name: arms[name] for name in ("Adagrad", "decayed SGD")}
longer = compare(two, on_text(long_epochs))

# %% tags=["hide-input", "chaotic"]
def show_scores(ax, results, title):
    """Dots for arms, joined for each seed."""
    names = list(results)
    for k in range(num_seeds):
        ax.plot(range(len(names)), [results[n][1][k] for n in names],
                "o-", lw=0.5, ms=4, color=f"C{k}")
    ax.set_xticks(range(len(names)), [n.replace(" ", "\n") for n in names],
                  fontsize=7.5)
    ax.set_title(title, fontsize=9)


fig, axes = plt.subplots(1, 2, figsize=(7.5, 2.8), sharey=True,
                         width_ratios=(5, 2))
show_scores(axes[0], text, f"epochs: {num_epochs}")
show_scores(axes[1], longer, f"epochs: {long_epochs}")
axes[0].set_ylabel("held-out accuracy")
d2l.describe(fig, """Held-out accuracy of the six arms, three seeds each.
    After two epochs Adagrad, the counts and the fixed rates lie highest; the
    three arms with one rate lie lower. After eight epochs Adagrad and decayed
    SGD are closer.""")

# %% tags=["rtol=0.05"]
for title, results in (("short", text), ("long", longer)):
    print(title, "; ".join(
        f"{name}: {scores.min():.3f} to {scores.max():.3f}"
        for name, (_, scores) in results.items()))

# %% [markdown]
# **Figure 12.7.6.** Accuracy on held-out sentences, a colour for each seed.

# %%
# check 12.7-C9: Adagrad is ahead of one rate with the same decay
full_run = (num_train >= 8000 and num_epochs >= 2 and long_epochs >= 8
            and num_seeds >= 3)
if full_run and real:
    lead = {name: text["Adagrad"][1] - text[name][1] for name in text}
    for name in ("AdaGrad-Norm", "decayed SGD", "SGD"):
        assert (lead[name] > 0.005).all() and lead[name].mean() > 0.01
    schedule = text["decayed SGD"][1] - text["SGD"][1]
    assert schedule.min() < 0.01 and 0.02 < schedule.max() < 0.045
    assert (text["AdaGrad-Norm"][1].mean()
            < text["decayed SGD"][1].mean())
    assert 0.002 < lead["counts"].mean() < 0.01
    assert lead["counts"].mean() < 0.5 * lead["decayed SGD"].mean()
    assert lead["fixed"].mean().abs() < 0.3 * lead["decayed SGD"].mean()
    assert all(0 < best < 5 for results in (text, longer)
               for best, _ in results.values())
    gap = longer["Adagrad"][1] - longer["decayed SGD"][1]
    assert 0 < gap.mean() < 0.75 * lead["decayed SGD"].mean()

# %% [markdown]
# After two epochs Adagrad is ahead of every arm with one rate, on each of the three splits.
# Two controls take Adagrad's two properties apart.
# AdaGrad-Norm keeps the decay and gives up the differences between words: on average it is not better than decayed SGD.
# The fixed rates keep the differences and give up the decay: they are as good as Adagrad.
# So on these data the gain comes from the differences.
# What Adagrad adds is that it needs no counts in advance.
# Counting along the way gives most of the gain: on average it is less than a point behind Adagrad.
# What a schedule alone gives is uneven: decayed SGD is ahead of constant SGD by more than two points on one split, and by less than one, if at all, on another.
# The lead is also a matter of the budget: after eight epochs what is left of it over decayed SGD is less than three quarters, in the mean of three splits.
#
# Does the gain come from the rare words?
# We compare the weights of words that were seen at most five times with those of the others, and record the rates of a frequent and of a rare word.

# %% tags=["rtol=0.1"]
history, state_of = [], {}


def watched(params, grads, state, hyper):
    adagrad(params, grads, state, hyper)
    state_of["rates"] = hyper["lr"] / state["s"][0].sqrt()
    history.append(state_of["rates"][pair, 0])


counts = splits[1].counts
pair = torch.stack((counts.argmax(), (counts - 5).abs().argmin()))
weights = {}
for name, (step, rates) in arms.items():
    weights[name], _ = train_bags(
        watched if step is adagrad else step, [rates[text[name][0]]],
        splits[1], 1, num_epochs)
seen = torch.stack(history)  # (steps, 2), infinite before the first time
rare = counts <= 5
share = {name: (W[rare].abs().mean() / W[~rare].abs().mean()).item()
         for name, W in weights.items()}
print(", ".join(f"{name} {value:.2f}" for name, value in share.items()))
if full_run and real:
    for word, sign in (("moving", 1), ("dull", -1)):  # 1 means positive
        assert sign * weights["Adagrad"][splits[1].words.index(word)] > 0
    assert 0.6 < share["Adagrad"] < 0.9 and 0.3 < share["decayed SGD"] < 0.45
    assert max(share["AdaGrad-Norm"], share["SGD"]) < 0.45
    assert share["counts"] > 0.55
    assert abs(rare.double().mean() - 0.67) < 0.03

# %% tags=["hide-input", "chaotic"]
fig, ax = plt.subplots(figsize=(5.5, 2.8))
for j, (style, word) in enumerate(zip(
        "-.", ("frequent", "rare"))):
    first = int(seen[:, j].isfinite().nonzero()[0])
    ax.plot(range(first + 1, len(seen) + 1), seen[first:, j], "-",
            color=f"C{j}", label=f"a {word} word, in "
            f"{int(counts[pair[j]])} sentences")
    ax.plot([first + 1], [seen[first, j]], "o", color=f"C{j}", ms=5)
ax.set(xscale="log", yscale="log", xlabel="step",
       ylabel="rate of the word")
ax.legend(fontsize=8)
d2l.describe(ax, """Rates of two words against the step, both
    logarithmic. The frequent word starts with the first batch and its rate
    falls along a line; the rare word starts late, with a rate many times
    larger, and falls in a few steps of a staircase.""")

# %% [markdown]
# **Figure 12.7.7.** Adagrad's rates $\eta/\sqrt{s_t}$ of two words on the first split; circles mark their first occurrence.

# %% tags=["rtol=0.1"]
assert (seen.nan_to_num(posinf=1e9).diff(dim=0) <= 0).all()
assert len(seen) == num_epochs * math.ceil(num_train / 32)
if full_run and real:
    assert seen[-1, 1] > 10 * seen[-1, 0]
    exponent = slope(counts.double(), state_of["rates"][:, 0].double())
    print(f"final rate against the count: exponent {exponent:.2f}")
    assert abs(exponent + 0.5) < 0.07

# %% [markdown]
# On this split two thirds of the vocabulary are rare words.
# With Adagrad the mean magnitude of their weights is about three quarters of that of the other words, with one rate for all less than half.
# Adagrad's final rates fall with the count of a word about like its power $-\frac12$, that is, like (12.7.1).
#
# Larger weights need not be better ones.
# The control is to drop all words with fewer than six occurrences and to tune and train again.

# %% tags=["rtol=0.05"]
common = [polarity_bow(min_count=6, seed=seed)
          for seed in range(num_seeds + 1)]
no_rare = compare(two, on_text(num_epochs, common))
for name, (_, scores) in no_rare.items():
    print(f"{name}: {scores.min():.3f} to {scores.max():.3f} without, "
          f"{text[name][1].min():.3f} to {text[name][1].max():.3f} with")
if full_run and real:
    left = no_rare["Adagrad"][1] - no_rare["decayed SGD"][1]
    assert (left > 0.005).all()
    assert 0.3 < left.mean() / lead["decayed SGD"].mean() < 0.85
    assert all((text[name][1] > no_rare[name][1]).all() for name in two)
    assert all(0 < best < 5 for best, _ in no_rare.values())

# %% [markdown]
# Both methods lose accuracy, Adagrad more on average, but much of its lead remains.
# So the rare words are a part of the explanation, not all of it: Adagrad is ahead with the common words alone, too.

# %% [markdown]
# ## Is it the rarity?
#
# Adagrad moves rare features more.
# That pays if they carry information.
# Artificial data can separate rarity from information: features with the frequencies $p_i=\min(\frac12,2/i)$, labels by logistic regression, true weights $w_i\propto p_i^{\,a}z_i$ with $z_i$ from a normal distribution.
# For $a=-\frac12$ the rare features have the large weights, for $a=0$ weights do not depend on frequency, and for $a=\frac12$ the frequent features have the large ones.
# The frequencies are the same in all three cases.

# %%
def sparse_logistic(n, rates, power, seed, held_out):
    """Binary features with frequencies `rates` (d,), as `Bags`.

    True weights are normal, times rates ** power; the scores of all n
    rows are brought to mean 0 and standard deviation 5. The last
    `held_out` rows are not for training.
    """
    rng, d = torch.Generator().manual_seed(seed), len(rates)
    X = torch.rand(n, d, generator=rng) < rates
    index = pad_sequence([row.nonzero()[:, 0] for row in X], True, d)
    weights = torch.randn(d, generator=rng) * rates**power
    z = F.pad(weights, (0, 1))[index].sum(dim=1)
    z = 5 * (z - z.mean()) / z.std()
    y = (torch.rand(n, generator=rng) < z.sigmoid()).float()
    n_train = n - held_out
    return Bags(index, y, X[:n_train].sum(dim=0), n_train, [], "made")

# %% tags=["rtol=0.05"]
made_arms = {"Adagrad": (adagrad, [0.03, 0.1, 0.3, 1, 3, 10]),
             "decayed SGD": (decayed, [0.3, 1, 3, 10, 30, 100])}
rates = (2 / torch.arange(1, 1501)).clamp(max=0.5)
sets = {power: [sparse_logistic(num_train, rates, power, seed, num_train // 2)
                for seed in range(num_seeds + 1)]
        for power in (-0.5, 0.0, 0.5)}


def on_made(power, epochs):
    """A `run` for `compare`: accuracy on artificial data."""
    return lambda step, grid, seed: train_bags(
        step, grid, sets[power][seed], seed, epochs)[1]


made = {}
for power in sets:
    made[power] = compare(made_arms, on_made(power, num_epochs))
    print(f"power {power:4}: " + "; ".join(
        f"{name} {scores.min():.3f} to {scores.max():.3f}"
        for name, (_, scores) in made[power].items()))

# %% tags=["hide-input", "chaotic"]
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.6), sharey=True)
for ax, (power, results) in zip(axes, made.items()):
    show_scores(ax, results, {-0.5: "rare features matter",
                              0.0: "all alike",
                              0.5: "frequent features matter"}[power])
    ax.set_xlim(-0.4, 1.4)
axes[0].set_ylabel("held-out accuracy")
d2l.describe(fig, """Accuracy of Adagrad and of decayed SGD in three cases.
    Where rare features matter, Adagrad is higher by about six hundredths;
    where all are alike, by one or two; where frequent features matter, it is
    lower.""")

# %%
if full_run:
    lead = {power: made[power]["Adagrad"][1] - made[power]["decayed SGD"][1]
            for power in made}
    assert (lead[-0.5] - 0.058).abs().max() < 0.02
    assert 0 < lead[0.0].min() and lead[0.0].max() < 0.03
    assert (lead[0.5] < 0).all()
    assert all(0 < best < 5 for results in made.values()
               for best, _ in results.values())
toy = sparse_logistic(2000, torch.tensor([0.5, 0.1]), -0.5, 0, 500)
assert toy.num_train == 1500 and toy.index.max() == 2
assert (toy.counts / 1500 - torch.tensor([0.5, 0.1])).abs().max() < 0.04

# %% [markdown]
# **Figure 12.7.8.** 4000 examples for training, 4000 held out, 1500 features, two epochs, six rates for each method, three seeds.
#
# With the frequencies unchanged, Adagrad gains about six points of accuracy, one or two, or loses, as the large weights move from rare to frequent features.
# So on these data rarity alone is not the reason: it is rare features that are predictive, "needles in haystacks" as Duchi and coauthors say.
# Is it only a matter of speed?

# %% tags=["rtol=0.3"]
for power in (-0.5, 0.5):
    later = compare(made_arms, on_made(power, long_epochs))
    gap = later["Adagrad"][1] - later["decayed SGD"][1]
    print(f"power {power:4}, long: lead {gap.min():.3f} to {gap.max():.3f}")
    if full_run:
        assert ((0 < gap) == (power < 0)).all()
        assert power > 0 or gap.mean() < 0.5 * lead[power].mean()
        assert all(0 < best < 5 for best, _ in later.values())

# %% [markdown]
# After eight epochs, tuned again, less than half of the gain is left where rare features matter.
# Where frequent ones do, decayed SGD is still ahead.

# %% [markdown]
# ### Dense features
#
# The airfoil data of [Section 12.5](05-minibatch-sgd.ipynb) have five standardized features and no rare ones.
# We measure the excess of the loss over the optimum after two epochs with batches of 10, by the same protocol.

# %%
# check 12.7-C8: Adagrad on the airfoil data, rate 0.1, five seeds
air = Airfoil()
A = torch.cat((air.X, torch.ones_like(air.y)), dim=1)
best_loss = 0.5 * (A @ torch.linalg.lstsq(A, air.y).solution
                   - air.y).square().mean().item()
excess = [train_opt(adagrad, {"lr": 0.1}, air, num_epochs, seed)[1][-1]
          - best_loss for seed in range(5)]
if air.source == "real":
    assert abs(best_loss - 0.24169) < 1e-5
    if num_epochs >= 2:
        assert 0 < min(excess) < max(excess) < 0.004

# %% tags=["rtol=0.2"]
def on_airfoil(step, rates, seed):
    """A `run` for `compare`: minus the excess loss for each rate."""
    return torch.tensor([best_loss - train_opt(
        step, {"lr": rate, "steps": 150 * num_epochs}, air, num_epochs,
        seed)[1][-1] for rate in rates])


air_arms = {"Adagrad": (adagrad, [0.01, 0.03, 0.1, 0.3, 1, 3]),
            "decayed Adagrad": (partial(decayed, step=adagrad),
                                [0.01, 0.03, 0.1, 0.3, 1, 3]),
            "decayed SGD": (decayed, [0.003, 0.01, 0.03, 0.1, 0.3, 1]),
            "SGD": (sgd, [0.001, 0.003, 0.01, 0.03, 0.1, 0.3])}
dense = {name: (best, -scores) for name, (best, scores)
         in compare(air_arms, on_airfoil).items()}
for name, (_, loss) in dense.items():
    print(f"{name}: {loss.min():.4f} to {loss.max():.4f} above the optimum")
if full_run and air.source == "real":
    assert dense["decayed SGD"][1].max() < 0.5 * dense["Adagrad"][1].min()
    assert all(0 < best < 5 for best, _ in dense.values())
    assert (dense["Adagrad"][1] < dense["SGD"][1]).all()
    assert (dense["decayed Adagrad"][1] < dense["decayed SGD"][1]).all()

# %% tags=["hide-input", "chaotic"]
fig, ax = plt.subplots(figsize=(4, 2.6))
show_scores(ax, dense, "airfoil, two epochs")
ax.set(yscale="log", ylabel="excess loss", xlim=(-0.4, 3.4))
d2l.describe(ax, """Excess loss on a logarithmic axis: Adagrad and SGD near
    0.002 to 0.004, both with decay about ten times lower, and there, too,
    Adagrad below SGD.""")

# %% [markdown]
# **Figure 12.7.9.** Excess training loss on dense, standardized features, three seeds.
#
# For each seed Adagrad ends below SGD with a constant rate.
# But SGD with one rate that falls to 0 in time ends far below both: on these data a schedule is worth more than rates per coordinate.
# The two are not rivals.
# Adagrad under the same linear schedule is the best of the four for each seed, although these features are neither rare nor of different scales.
#
# Where does Adagrad stand today?
# Networks are mostly trained with its descendants that forget ([Section 12.8](08-rmsprop.ipynb), [Section 12.10](10-adam.ipynb)).
# Adagrad itself is in use for the huge embedding tables of recommender systems, in a form with one accumulator per row (Zhang and others, 2025), and the theory now covers smooth functions that are not convex, for AdaGrad-Norm (Ward, Wu and Bottou, 2020).
# Language models have a similar case in their outputs: Kunstner and others (2024) name rare classes as a key factor in Adam's lead over gradient descent.

# %% [markdown]
# ## Summary
#
# - Adagrad divides each coordinate's step by the root of the sum of its squared gradients: the scale of the loss cancels, and for separable functions the scale of every coordinate's part.
# - As a preconditioner it is diagonal: it cures bad scales and not correlations, with exponent $-1$ for exact gradients and $-\frac12$ for the gradient noise of least squares.
# - Its rates fall like $t^{-1/2}$ where gradients keep their size, and settle where gradients shrink geometrically.
# - The regret bound is a sum over coordinates, and profits from different frequencies.
# - On real text it beat tuned SGD with a decaying rate, and AdaGrad-Norm, which shares only its decay; constant rates by frequency did as well, and the lead shrank with more epochs.
# - With artificial data of fixed frequencies it won where rare features were predictive and lost where frequent ones were; on dense standardized data a linear schedule brought more than its rates, and both together the most.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.7-1
#
# How many steps does Adagrad need on the canyon until the distance to the minimum is below $10^{-3}$, along the axes and turned by 45 degrees?
# Use the best of six rates for each, and compare with gradient descent at its best rate.

# %% [markdown]
# #### Solution 12.7-1

# %% [markdown]
# Along the axes it needs about ten steps, turned more than a hundred, over ten times as many.
# Gradient descent needs the same number in both cases, and fewer than Adagrad in the turned one, where diagonal scaling leaves $\kappa$ at 20.

# %%
def steps_to_reach(step, rate, angle, tol=1e-3, limit=400):
    """Steps until |x| stays below tol on the turned canyon, or `limit`."""
    f, R = turned(angle)
    path = train_2d(on(f, step, lr=rate), tuple(
        (R @ R.new_tensor([-5.0, -2.0])).tolist()), limit)
    far = path.norm(dim=1) >= tol
    return int(far.nonzero()[-1]) + 1 if not far[-1] else limit


needed = {}
for name, step, grid in (("Adagrad", adagrad, (0.4, 1.0, 2.0, 4.0, 8.0, 16.0)),
                         ("descent", sgd, (2 / 4.2,))):
    needed[name] = [min(steps_to_reach(step, rate, angle) for rate in grid)
                    for angle in (0, 45)]
    print(name, needed[name])
assert needed["Adagrad"][1] > 10 * needed["Adagrad"][0]
assert needed["descent"][0] == needed["descent"][1] == 86
assert needed["Adagrad"][0] < 12 and 100 < needed["Adagrad"][1] < 200

# %% [markdown]
# ### Exercise 12.7-2
#
# Why do rates from counts come so close to Adagrad on words?
# On which features would they fail?
# Multiply half of the columns of the text data by 10, tune both again, and look.

# %% [markdown]
# #### Solution 12.7-2

# %% [markdown]
# The feature is 0 or 1, so a word's gradient in a batch is a sum of errors $\hat y-y$ of its sentences, divided by 32.
# Early in training all errors are near $\frac12$ in magnitude, and $s_i$ is nearly a multiple of the count.
# Counts fail where features have different sizes.
# A feature multiplied by 10 has ten times the gradient, and a change of its weight acts ten times as strongly: at the same rate its effect on the scores moves 100 times as far.
# Adagrad divides the first factor 10 away and keeps the second.
#
# Instead of the data, the solution changes the optimizer: with $w=cv$, the weight $v$ of a feature $cx$ has the gradient $c\,g$.

# %% tags=["rtol=0.3"]
def rescaled(step, c):
    """`step` for features times c (d, 1): weights v = w / c."""
    def wrapped(params, grads, state, hyper):
        W, b = params
        V = W / c
        step([V, b], [c * grads[0], grads[1]], state, hyper)
        W.copy_(c * V)
    return wrapped


def on_scaled_text(step, rates, seed):
    d = len(splits[seed].words)
    rng = torch.Generator().manual_seed(100 + seed)
    c = torch.where(torch.rand(d, 1, generator=rng) < 0.5, 10.0, 1.0)
    return train_bags(rescaled(step, c), rates, splits[seed], seed,
                      num_epochs)[1]


scaled_text = compare(
    {"Adagrad": (adagrad, [0.003, 0.01, 0.03, 0.1, 0.3, 1]),
     "counts": (counted, [0.01, 0.03, 0.1, 0.3, 1, 3])}, on_scaled_text)
loss = {name: text[name][1] - scaled_text[name][1] for name in scaled_text}
for name, values in loss.items():
    print(f"{name}: accuracy falls by {values.min():.3f} "
          f"to {values.max():.3f}")
x, g = torch.ones(3, 1), torch.tensor([[2.0], [3.0], [4.0]])
rescaled(sgd, torch.tensor([[1.0], [10], [10]]))(
    [x, torch.zeros(1)], [g, torch.zeros(1)], {}, {"lr": 0.1})
torch.testing.assert_close(x, torch.tensor([[0.8], [-29.0], [-39.0]]))
if full_run and real:
    assert (loss["counts"] > loss["Adagrad"]).all()
    assert loss["counts"].mean() > loss["Adagrad"].mean() + 0.01
    assert all(0 < best < 5 for best, _ in scaled_text.values())

# %% [markdown]
# ### Exercise 12.7-3
#
# Prove Gershgorin's theorem: each eigenvalue of a square matrix $\mathbf{A}$ lies in one of the discs around $A_{ii}$ with radius $r_i=\sum_{j\ne i}|A_{ij}|$.
# Verify it on 100 random matrices.

# %% [markdown]
# #### Solution 12.7-3

# %% [markdown]
# Let $\mathbf{A}\mathbf{v}=\lambda\mathbf{v}$, and let $v_i$ be an entry of largest magnitude, which is not 0.
# Row $i$ reads $(\lambda-A_{ii})v_i=\sum_{j\ne i}A_{ij}v_j$.
# Divide by $v_i$ and take magnitudes: $|\lambda-A_{ii}|\le\sum_{j\ne i}|A_{ij}||v_j|/|v_i|\le r_i$.
# For a symmetric matrix with unit diagonal these are intervals around 1, the largest of which is the one used above.

# %%
def outside(A, factor=1.0):
    """Eigenvalues outside all discs of A (d, d), radii times `factor`."""
    centers = A.diagonal()
    radii = factor * (A.abs().sum(dim=1) - centers.abs())
    distance = (torch.linalg.eigvals(A)[:, None] - centers).abs()
    return int((distance > radii + 1e-9).all(dim=1).sum())


rng = torch.Generator().manual_seed(1)
matrices = torch.randn(100, 5, 5, generator=rng, dtype=torch.float64)
assert sum(outside(A) for A in matrices) == 0
assert sum(outside(A, 0.5) for A in matrices) > 10  # halved radii fail

# %% [markdown]
# ### Exercise 12.7-4
#
# Train a network on scikit-learn's digits for 10 epochs with Adagrad.
# How much of the first rate of each weight is left at the end?

# %% [markdown]
# #### Solution 12.7-4

# %% [markdown]
# Less than a twentieth, in the median over the weights whose first gradient is not 0.
# After 220 steps with gradients of one size $1/\sqrt{220}$, a fifteenth, would be left.
# That it is less need not mean that the gradients grew: a gradient that varies by chance is more often below its root mean square than above, and for normal gradients of constant variance the median would be about $0.67/\sqrt{220}$, close to what we see.

# %% tags=["rtol=0.3"]
digits = load_digits()
X = torch.tensor(digits.data[:1400] / 16, dtype=torch.float32)
y = torch.tensor(digits.target[:1400])
ratios = []
for seed in range(num_seeds):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    params, state, first = list(net.parameters()), {}, None
    for _ in range(10):
        for i in torch.randperm(len(X)).split(64):
            grads = torch.autograd.grad(F.cross_entropy(net(X[i]), y[i]),
                                        params)
            with torch.no_grad():
                adagrad(params, grads, state, {"lr": 0.03})
            if first is None:
                first = [s.clone() for s in state["s"]]
    left = torch.cat([(a[a > 0] / s[a > 0]).sqrt()
                      for a, s in zip(first, state["s"])])
    accuracy = (net(X).argmax(dim=1) == y).float().mean().item()
    ratios.append(left.median().item())
    assert accuracy > 0.95 and (left <= 1).all()
print("left:", ", ".join(f"{ratio:.2f}" for ratio in ratios))
assert all(0.02 < ratio < 0.05 for ratio in ratios)

# %% [markdown]
# ## Sources
#
# - J. Duchi, E. Hazan and Y. Singer, *Adaptive subgradient methods for online learning and stochastic optimization*, [Journal of Machine Learning Research 12 (2011)](https://jmlr.org/papers/v12/duchi11a.html): the method, its regret bounds, the full-matrix version.
# - M. Streeter and H. B. McMahan, *Less regret via online conditioning* (2010), [arXiv:1002.4862](https://arxiv.org/abs/1002.4862): rates per coordinate, seen as a diagonal preconditioner.
# - A. van der Sluis, *Condition numbers and equilibration of matrices*, Numerische Mathematik 14 (1969), [doi:10.1007/BF02165096](https://doi.org/10.1007/BF02165096).
# - R. Ward, X. Wu and L. Bottou, *AdaGrad stepsizes: sharp convergence over nonconvex landscapes*, Journal of Machine Learning Research 21 (2020), [arXiv:1806.01811](https://arxiv.org/abs/1806.01811).
# - B. Pang and L. Lee, *Seeing stars: exploiting class relationships for sentiment categorization with respect to rating scales*, ACL 2005: the sentences.
# - F. Kunstner et al., *Heavy-tailed class imbalance and why Adam outperforms gradient descent on language models*, NeurIPS 2024, [arXiv:2402.19449](https://arxiv.org/abs/2402.19449).
# - X. Zhang et al., *Two-dimensional sparse parallelism for large scale deep learning recommendation model training* (2025), [arXiv:2508.03854](https://arxiv.org/abs/2508.03854): row-wise Adagrad in use.
