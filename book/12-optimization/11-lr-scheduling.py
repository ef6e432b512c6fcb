# ---
# jupyter:
#   d2l:
#     profiles:
#       gpu:
#         num_epochs: 10
#         channels: 16
#         num_gpus: 1
#       smoke:
#         num_epochs: 1
#         channels: 2
#     rehearsal:
#       num_epochs: 0.1
#       channels: 0.25
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
# # 12.11 Learning rate scheduling
#
# A rate that is right at the start of training is often too large at its end, and one that is right at the end wastes the start.
# So let the rate depend on the step.
# This section writes the common schedules, sets them at the right moment, and measures what a schedule, a warm-up and an average of weights buy once every rival has its own best rate.
#
# **You will**
#
# - write schedules as pure functions of the step, and check them against PyTorch's;
# - predict, from an exact formula, what decay and averaging do to gradient noise;
# - compare schedules fairly, and see how the comparison goes wrong;
# - test three reasons for warm-up, and carry a rate from a narrow network to a wide one.
#
# **Cost**: less than a minute on a CPU, no download; the profile `gpu` trains wider networks.

# %%
import copy
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.optim import lr_scheduler, swa_utils

import d2l_helpers as d2l
from d2l_helpers.chapters.convolutional_neural_networks import init_he
from d2l_helpers.chapters.optimization import (
    adamw, sharpness, show_trace_2d, stationary_variance, train_2d)

d2l.use_style()

# %% tags=["parameters"]
num_epochs = 10  # of each network
channels = 4  # of the first convolution, twice as many in the second
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## The shapes
#
# A *learning rate schedule* gives the rate $\eta_t$ of step $t=0,1,\dots$
# Most have up to three phases.
#
# ![The rate against the step. A blue line rises in the warm-up from 0 to the peak, stays there in the stable phase, where it covers distance, and falls to 0 in the decay, where it settles below the noise. A dashed cosine falls from the peak to 0 without a stable phase.](img/schedule-phases.svg)
#
# **Figure 12.11.1.** The phases of a schedule.
#
# Three shapes need no planned end: a square root, $\eta_t=\eta_0(t+1)^{-1/2}$; a factor per step down to a floor, $\eta_{t+1}=\max(\eta_{\min},\alpha\eta_t)$ with $0<\alpha<1$; or a factor at a few milestones.
# We write schedules as objects that are called with the step and keep no state, so a value can be asked for in any order and as often as one likes.

# %%
class SquareRoot:
    """base_lr / sqrt(step + 1)."""

    def __init__(self, base_lr=0.1):
        self.base_lr = base_lr

    def __call__(self, step):
        return self.base_lr * (step + 1) ** -0.5


class Factor:
    """base_lr times `factor` in each step, but at least `min_lr`."""

    def __init__(self, factor=0.9, min_lr=1e-3, base_lr=0.1):
        self.factor, self.min_lr, self.base_lr = factor, min_lr, base_lr

    def __call__(self, step):
        return max(self.min_lr, self.base_lr * self.factor ** step)


class MultiFactor:
    """base_lr, multiplied by `factor` from each of the milestones on."""

    def __init__(self, milestones, factor=0.5, base_lr=0.1):
        self.milestones, self.factor = milestones, factor
        self.base_lr = base_lr

    def __call__(self, step):
        passed = sum(step >= milestone for milestone in self.milestones)
        return self.base_lr * self.factor ** passed

# %%
# check 12.11-C4: the square root gives 0.1, 0.0707, 0.0577, 0.05
root = SquareRoot(0.1)
assert [round(root(t), 4) for t in range(4)] == [0.1, 0.0707, 0.0577, 0.05]
geometric = Factor(0.5, min_lr=0.02, base_lr=0.1)
assert [geometric(t) for t in range(4)] == [0.1, 0.05, 0.025, 0.02]

# %% [markdown]
# If the number of steps $T$ is fixed in advance, the rate can reach its end just in time.
# The *cosine schedule* (Loshchilov and Hutter, 2016) is
#
# $$\eta_t=\eta_T+\frac{\eta_0-\eta_T}2\left(1+\cos\frac{\pi t}T\right),\qquad 0\le t\le T, \tag{12.11.1}$$
#
# where $\eta_0$ and $\eta_T$ are the first and the last rate; halfway it has fallen halfway.
# A *warm-up* comes before it: a straight rise from a small rate or 0 over the first steps.

# %% tags=["export"]
class Cosine:
    """A learning rate for each step: warm-up, half a cosine, constant.

    It rises linearly from `warmup_begin_lr` to `base_lr` in `warmup_steps`
    steps, falls to `final_lr` at step `max_update`, and stays there.
    """

    def __init__(self, max_update, base_lr=0.01, final_lr=0.0,
                 warmup_steps=0, warmup_begin_lr=0.0):
        if not 0 <= warmup_steps < max_update:
            raise ValueError(f"warmup_steps is {warmup_steps}; it must lie "
                             f"between 0 and max_update - 1.")
        self.max_update, self.warmup_steps = max_update, warmup_steps
        self.base_lr, self.final_lr = base_lr, final_lr
        self.warmup_begin_lr = warmup_begin_lr

    def __call__(self, step):
        if step < self.warmup_steps:
            return self.warmup_begin_lr + (
                self.base_lr - self.warmup_begin_lr) * step / self.warmup_steps
        done = min(1, (step - self.warmup_steps)
                   / (self.max_update - self.warmup_steps))
        return self.final_lr + 0.5 * (self.base_lr - self.final_lr) * (
            1 + math.cos(math.pi * done))

# %% [markdown]
# *Warmup-stable-decay* (WSD; Hu and others, 2024) holds the peak and falls only in the last share of the steps, here along a line to 0.
# The stable phase needs no $T$: a run can be prolonged, and each length costs only its own decay.
# With a share of 1 it is *linear decay*, the best choice in a worst-case analysis of the last iterate on convex functions (Defazio and others, 2023; [Section 12.4](04-sgd.ipynb)).
# *One-cycle* rises and falls once, in PyTorch by default along cosines and with 30 % of the steps for the rise (Smith and Topin, 2017; Exercise 1); *plateau* rules cut the rate when a measured loss stops falling (Exercise 3).

# %%
class WSD:
    """Rise in `warmup_steps`, hold, fall to 0 in the last share `decay`."""

    def __init__(self, max_update, base_lr=0.01, decay=0.2, warmup_steps=0):
        if warmup_steps + decay * max_update > max_update + 0.5:
            raise ValueError(f"a warm-up of {warmup_steps} steps and a decay "
                             f"of {decay:.0%} overlap: no step has base_lr.")
        self.max_update, self.base_lr = max_update, base_lr
        self.decay, self.warmup_steps = decay, warmup_steps

    def __call__(self, step):
        up = step / self.warmup_steps if step < self.warmup_steps else 1
        left = max(0, self.max_update - step)
        down = left / (self.decay * self.max_update)
        return self.base_lr * min(up, down, 1)


shapes = {"square root": SquareRoot(0.3), "factor": Factor(0.95, 0.05, 0.3),
          "multi-factor": MultiFactor([25, 50, 75], 0.5, 0.3),
          "cosine": Cosine(100, 0.3, warmup_steps=10),
          "linear": WSD(100, 0.3, decay=1), "WSD": WSD(100, 0.3, 0.2, 10)}

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.5, 2.8))
for i, (name, shape) in enumerate(shapes.items()):
    ax.plot(range(101), [shape(t) for t in range(101)], label=name, lw=1.4,
            ls=["-", "--", "-.", ":", "-", "--"][i])
ax.set(xlabel="step", ylabel="learning rate")
ax.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
d2l.describe(ax, """Six schedules over 100 steps with the peak 0.3. Square root
    and factor fall fast at once, multi-factor halves at three steps, cosine
    and linear reach 0 at step 100, WSD stays at the peak until step 80.""")

# %% [markdown]
# **Figure 12.11.2.** Six schedules with the same peak; cosine and WSD with a warm-up of ten steps.

# %%
# check 12.11-C5: pure functions; and what the shapes promise
order = torch.randperm(121, generator=torch.Generator().manual_seed(0))
for shape in shapes.values():
    table = {t: shape(t) for t in order.tolist()}
    assert [shape(t) for t in range(121)] == [table[t] for t in range(121)]
    assert max(table.values()) == 0.3 and min(table.values()) >= 0
wsd = WSD(100, 0.3, 0.2, 10)
assert [round(wsd(t), 4) for t in (0, 5, 10, 80, 90, 100, 110)] == [
    0, 0.15, 0.3, 0.3, 0.15, 0, 0]
assert [round(WSD(8, 1.0)(t), 4) for t in (6, 7)] == [1, 0.625]
assert WSD(100, 0.3, 0.9, 10)(10) == 0.3
for make in (lambda: WSD(100, 0.3, 1, 10),
             lambda: Cosine(10, warmup_steps=10)):
    try:
        make()
    except ValueError:
        continue
    raise AssertionError("phases that overlap were accepted")
assert WSD(10)(0) == Cosine(10)(0) == 0.01 and Cosine(10)(10) == 0
assert SquareRoot()(0) == Factor()(0) == MultiFactor([])(0) == 0.1
assert Factor()(1000) == 1e-3 and Factor()(1) == 0.1 * 0.9
assert MultiFactor([3])(3) == 0.05

# %% [markdown]
# ## Why decay?
#
# Take the loss $\frac\lambda2x^2$ with gradient noise of standard deviation $\sigma$, both positive numbers.
# A step is $x_{t+1}=(1-\eta_t\lambda)x_t-\eta_t\sigma\xi_t$ with fresh noise $\xi_t$ of mean 0 and variance 1, so
#
# $$E[x_{t+1}^2]=(1-\eta_t\lambda)^2\,E[x_t^2]+\eta_t^2\sigma^2. \tag{12.11.2}$$
#
# The first term forgets the start, the second adds noise.
# For a constant rate below $\frac2\lambda$ they balance at the floor of [Section 12.4](04-sgd.ipynb), with $\lambda=\sigma=1$ and $\eta=0.5$ at $\frac13$.
# A falling rate lowers the floor, but one that falls too soon stops forgetting.
# The balance depends on the curvature: our test problem is the valley $0.1x_1^2+2x_2^2$ with the curvatures 0.2 and 4 and $\sigma=1$ in both directions, from $(-5,-2)$, in 200 steps.
# Each schedule gets the best of 15 peak rates.

# %%
curvatures = torch.tensor([0.2, 4.0], dtype=torch.float64)
start = torch.tensor([-5.0, -2.0], dtype=torch.float64)


def expected_loss(schedule, steps):
    """The mean loss in the valley at t = 0, ..., steps, by (12.11.2)."""
    squares = [start**2]
    for t in range(steps):
        eta = schedule(t)
        squares.append((1 - eta * curvatures) ** 2 * squares[-1] + eta**2)
    return torch.stack(squares) @ curvatures / 2


def chains(schedule, steps, count=4000):
    """`count` noisy descents in the valley, (steps + 1, count, 2)."""
    rng = torch.Generator().manual_seed(12)
    x = start.expand(count, 2)
    path = [x]
    for t in range(steps):
        noise = torch.randn(count, 2, generator=rng, dtype=x.dtype)
        x = x - schedule(t) * (curvatures * x + noise)
        path.append(x)
    return torch.stack(path)

# %%
T = 200
trials = [0.01 * 2 ** (k / 2) for k in range(15)]  # up to 1.28
kinds = {"constant": lambda lr: lambda t: lr, "square root": SquareRoot,
         "cosine": lambda lr: Cosine(T, lr),
         "linear": lambda lr: WSD(T, lr, decay=1),
         "WSD": lambda lr: WSD(T, lr, decay=0.2)}
ends = {name: [expected_loss(kind(lr), T)[-1].item() for lr in trials]
        for name, kind in kinds.items()}
tuned = {name: trials[losses.index(min(losses))]
         for name, losses in ends.items()}
for name, lr in tuned.items():
    print(f"{name}: {min(ends[name]):.3f} at the rate {lr:.3f}")

# %%
runs = {name: chains(kinds[name](lr), T) for name, lr in tuned.items()}
theory = {name: expected_loss(kinds[name](lr), T)
          for name, lr in tuned.items()}
losses = {name: run.square() @ curvatures / 2 for name, run in runs.items()}
for name, loss in losses.items():
    error = loss.std(dim=1) / math.sqrt(loss.shape[1])
    gap = (loss.mean(dim=1) - theory[name]).abs()
    assert (gap <= 5 * error + 1e-12).all()
    assert error[-1] < 0.05 * theory[name][-1]
steady = sum(c / 2 * stationary_variance(tuned["constant"], c)
             for c in curvatures.tolist())
late = expected_loss(lambda t: tuned["constant"], 2000)[-1]
assert abs(late - steady) < 1e-9

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for i, name in enumerate(kinds):
    left.plot(theory[name], color=f"C{i}", lw=1)
    left.plot(range(2 * i, T + 1, 12), losses[name].mean(dim=1)[2 * i::12],
              "osv^D"[i], color=f"C{i}", ms=3.5, label=name)
    right.plot(trials, ends[name], "osv^D"[i] + "-", color=f"C{i}", ms=3.5,
               lw=1)
left.set(yscale="log", xlabel="step", ylabel="mean loss")
right.set(xscale="log", yscale="log", xlabel="peak rate", ylim=(0.015, 3),
          ylabel=f"mean loss after {T} steps")
left.legend(fontsize=8)
d2l.describe(left, """Left: mean loss against the step, markers on lines of
    theory; the constant rate levels off above the others. Right: end loss
    against the peak rate, five valleys; the constant one has the highest
    bottom, at the smallest rate.""")

# %% [markdown]
# **Figure 12.11.3.** Left: each schedule at its best rate, formula (12.11.2) (lines) and means of 4000 runs (markers).
# Right: the loss after 200 steps against the peak rate.

# %%
best = {name: min(values) for name, values in ends.items()}
assert best["constant"] > 1.25 * max(best["square root"], best["WSD"])
assert best["WSD"] > max(best["cosine"], best["linear"])
assert best["constant"] > 2 * max(best["cosine"], best["linear"])
assert min(tuned["cosine"], tuned["linear"]) > 2 * tuned["constant"]
assert all(0 < trials.index(lr) < 14 for lr in tuned.values())

# %% [markdown]
# Even at its best rate, the constant schedule ends with more than twice the loss of cosine and linear decay.
# The flat direction asks for a large rate; by (12.11.2), the best constant one ends with about the same loss in both directions.
# Cosine and linear decay end with less than a fifth of that in the steep direction, although their peaks are more than twice as high.
# With one curvature, or many more steps, the balance is different; formula (12.11.2) tells how.
# In the plane one sees what the decay removes.

# %% tags=["hide-input"]
def canyon(x):
    """0.1 x1^2 + 2 x2^2 for x (2,)."""
    return 0.1 * x[0] ** 2 + 2 * x[1] ** 2


def noisy_step(schedule, sigma=1.0):
    """Gradient descent on the canyon with noise and a schedule."""
    rng, t = torch.Generator().manual_seed(3), iter(range(10**6))

    def step(x):
        noise = sigma * torch.randn(2, generator=rng, dtype=x.dtype)
        x -= schedule(next(t)) * (torch.func.grad(canyon)(x) + noise)
    return step


def draw(fig, rate, decay):
    schedule = WSD(40, rate, decay) if decay else lambda t: rate
    ax = show_trace_2d(canyon, {"": train_2d(noisy_step(schedule), steps=40)},
                       fig.subplots(), (-5.5, 2.0), (-2.5, 2.0))
    ax.set_title(rf"$\eta={rate}$, decay over {decay:.0%}", fontsize=9)


d2l.sliders(draw, """A noisy path along a narrow valley. Without decay it
    jumps across the valley until its end; with decay the jumps shrink.""",
            figsize=(4.2, 2.4), rate=[0.1, 0.4], decay=[0, 0.3, 1])

# %% tags=["hide-input"]
# check: one noisy step is a step with the schedule's rate
x = torch.tensor([-5.0, -2.0], dtype=torch.float64)
move = noisy_step(WSD(40, 0.4, 1), sigma=0.0)
move(x), move(x)
slopes = torch.tensor([0.2, 4.0], dtype=torch.float64)
expected = torch.tensor([-5.0, -2.0], dtype=torch.float64) * (
    1 - 0.4 * slopes) * (1 - 0.39 * slopes)
torch.testing.assert_close(x, expected)
spread = [train_2d(noisy_step(s), steps=40)[-10:, 1].std()
          for s in (lambda t: 0.4, WSD(40, 0.4, 1))]
assert spread[1] < 0.5 * spread[0]

# %% [markdown]
# **Figure 12.11.4.** Forty noisy steps; the sliders set the peak rate and the share of the steps in which it falls to 0.

# %% [markdown]
# ## Setting the rate
#
# Every PyTorch optimizer keeps its parameters in groups, each with a rate of its own: `optimizer.param_groups[i]["lr"]`.
# What is written there is the rate of the next step.
# Our loop asks the schedule *before* each step, so step $t$ uses $\eta_t$.
# A group may carry a factor `lr_scale` of its own.

# %% tags=["export"]
def train_scheduled(model, loss, batches, optimizer, schedule, epochs,
                    after=None):
    """Train, with the learning rate `schedule(step)` set before each step.

    `batches()` gives the batches of an epoch, `loss(model, batch)` a
    number; `after(model)` is called after each step. The rate of a group
    is multiplied by its "lr_scale", if it has one. Returns the rates
    used and the losses, one of each per step.
    """
    rates, losses = [], []
    for _ in range(epochs):
        for batch in batches():
            rates.append(schedule(len(rates)))
            for group in optimizer.param_groups:
                group["lr"] = rates[-1] * group.get("lr_scale", 1)
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            optimizer.step()
            losses.append(value.detach())
            if after is not None:
                after(model)
    return rates, torch.stack(losses).tolist()

# %% [markdown]
# PyTorch's own schedulers are objects with a state: each `scheduler.step()`, called *after* `optimizer.step()`, once per step or once per epoch, moves them on.
# `LambdaLR` turns a function into one; it multiplies the optimizer's rate by the function's value.

# %%
def as_lambda(schedule):
    """The schedule for LambdaLR of an optimizer with lr=base_lr."""
    return lambda step: schedule(step) / schedule.base_lr


def torch_rates(lr, make, steps):
    """The rates of `steps` steps with a PyTorch scheduler."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    optimizer = torch.optim.SGD([weight], lr=lr)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert math.isclose(weight.item(), -sum(rates), rel_tol=1e-5)
    return rates

# %%
# check 12.11-C1: cosine; PyTorch's rises again after T_max
own = Cosine(20, base_lr=0.3, final_lr=0.01)
annealed = torch_rates(0.3, lambda o: lr_scheduler.CosineAnnealingLR(
    o, T_max=20, eta_min=0.01), 41)
assert all(abs(own(t) - annealed[t]) < 1e-12 for t in range(21))
assert abs(own(10) - 0.155) < 1e-12
assert abs(annealed[30] - 0.155) < 1e-9 and abs(annealed[40] - 0.3) < 1e-9
assert own(30) == own(40) == 0.01

# %%
# check 12.11-C2: milestones at 15 and 30
stepped = torch_rates(0.5, lambda o: lr_scheduler.MultiStepLR(
    o, [15, 30], 0.5), 40)
ours = MultiFactor([15, 30], 0.5, 0.5)
assert [stepped[t] for t in (14, 15, 30)] == [0.5, 0.25, 0.125]
assert [ours(t) for t in range(40)] == stepped

# %%
# check 12.11-C3: warm-up and cosine, built of two schedulers
own = Cosine(20, base_lr=0.3, final_lr=0.01, warmup_steps=5)
chained = torch_rates(0.3, lambda o: lr_scheduler.SequentialLR(
    o, [lr_scheduler.LambdaLR(o, lambda t: t / 5),
        lr_scheduler.CosineAnnealingLR(o, T_max=15, eta_min=0.01)],
    milestones=[5]), 20)
assert all(abs(own(t) - chained[t]) < 1e-12 for t in range(20))
expected = [0, 0.06, 0.12, 0.18, 0.24, 0.3, 0.2968]
assert all(abs(own(t) - value) < 5e-5 for t, value in enumerate(expected))
raised = Cosine(20, 0.3, warmup_steps=4, warmup_begin_lr=0.1)
assert abs(raised(0) - 0.1) < 1e-12 and abs(raised(2) - 0.2) < 1e-12
try:
    torch_rates(0.3, lambda o: lr_scheduler.LinearLR(o, start_factor=0), 1)
    raise AssertionError("LinearLR accepted a rise from 0")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# Five traps: 3 and 5 were in the checks above, 1 and 2 are in the next cell, 4 in the comparison that follows.
#
# 1. A rate set *after* the epoch, from `schedule(epoch)`, acts one epoch late: epoch 0 runs with whatever rate the optimizer was made with, and a warm-up begins too high.
# 2. A scheduler with a state that was stepped to plot its curve is used up: the training that follows starts at the end of the curve.
# 3. `CosineAnnealingLR` rises again after `T_max` steps; count steps where it counts steps.
# 4. If the peak rates are not tuned for each schedule, a comparison of schedules compares the rates as well.
# 5. `LinearLR` refuses to start at 0; `LambdaLR` does not.

# %%
# traps 1 and 2, in numbers
weight = nn.Parameter(torch.zeros(1))
weight.grad = torch.ones(1)
optimizer, late = torch.optim.SGD([weight], lr=0.3), []
for epoch in range(4):
    late.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    optimizer.param_groups[0]["lr"] = own(epoch)  # too late
assert late == [0.3, own(0), own(1), own(2)]

optimizer = torch.optim.SGD([weight], lr=0.5)
scheduler, curve = lr_scheduler.MultiStepLR(optimizer, [15, 30], 0.5), []
for _ in range(40):  # "only to plot it"
    curve.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    scheduler.step()
print("the plot starts at", curve[0], "- the training would start at",
      optimizer.param_groups[0]["lr"])
assert (curve[0], optimizer.param_groups[0]["lr"]) == (0.5, 0.125)

# %% [markdown]
# ## What does a schedule buy?
#
# The data are scikit-learn's 8x8 digits, 1297 for training and 500 held out; the network has two convolutions and a linear layer.
# A fair comparison needs many runs, so we train many networks side by side.
# `stack_module_state` stacks their parameters and `vmap` runs them at once, each on its own batches.

# %%
digits = load_digits()
device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")
order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 16
labels = torch.tensor(digits.target)[order]
X, y = images[:1297].to(device), labels[:1297].to(device)
X_val, y_val = images[1297:].to(device), labels[1297:].to(device)


class Networks(nn.Module):
    """One network of `make()` for each seed; no buffers, no dropout.

    Maps X (networks, n, ...) to scores (networks, n, classes).
    """

    def __init__(self, make, seeds):
        super().__init__()
        nets = []
        for seed in seeds:
            torch.manual_seed(seed)
            nets.append(make())
        stacked, _ = stack_module_state(nets)
        self.seeds, self.names = list(seeds), list(stacked)
        self.stack = nn.ParameterList(p.detach() for p in stacked.values())
        self.one = [nets[0]]  # in a list: its own parameters do not count
        self.to(device)

    def forward(self, X):
        def single(params, X):
            named = dict(zip(self.names, params))
            return functional_call(self.one[0], named, (X,))
        return vmap(single)(list(self.stack), X)

# %%
def losses_of(nets, batch):
    """The loss of each network on its own rows, `batch` (networks, n)."""
    scores = nets(X[batch])
    each = F.cross_entropy(scores.flatten(0, 1), y[batch].flatten(),
                           reduction="none")
    return each.reshape(batch.shape).mean(dim=1)


def batches_of(seeds, size=64):
    """For train_scheduled: an epoch of full batches, shuffled by seed."""
    rngs = {s: torch.Generator().manual_seed(s) for s in dict.fromkeys(seeds)}

    def batches():
        count = len(X) // size
        rows = {s: torch.randperm(len(X), generator=rng)[:count * size]
                for s, rng in rngs.items()}
        rows = torch.stack([rows[s] for s in seeds]).to(device)
        return rows.split(size, dim=1)
    return batches


@torch.no_grad()
def held_out(nets):
    """Loss and accuracy (networks,) of each network on the held-out rows."""
    scores = nets(X_val.expand(len(nets.seeds), *X_val.shape)).cpu()
    each = F.cross_entropy(scores.flatten(0, 1), y_val.cpu().repeat(
        len(scores)), reduction="none")
    hits = scores.argmax(dim=2) == y_val.cpu()
    return each.reshape(len(scores), -1).mean(dim=1), hits.float().mean(dim=1)

# %% [markdown]
# For SGD with momentum the rate of one network can be moved into its loss: momentum is linear in the gradients, so a loss multiplied by $r$ at rate $\eta_t$ takes the same steps as the plain loss at rate $r\eta_t$.
# Schedules with peak 1 therefore train all rates in one run.

# %%
def cnn():
    """Convolutions of 3x3 on 8x8 pixels, halved twice, 10 scores."""
    c = channels
    return nn.Sequential(
        nn.Conv2d(1, c, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * c, 10))


def fit_rates(rates, seeds, schedule, after=None, epochs=num_epochs,
              make=cnn):
    """A network for each rate and seed: rates[0] with all seeds, then next.

    Trained by SGD with momentum 0.9.
    """
    nets = Networks(make, list(seeds) * len(rates))
    scale = torch.tensor(rates, device=device).repeat_interleave(len(seeds))
    train_scheduled(
        nets, lambda nets, batch: (scale * losses_of(nets, batch)).sum(),
        batches_of(nets.seeds), torch.optim.SGD(
            nets.parameters(), lr=1.0, momentum=0.9), schedule, epochs, after)
    return nets

# %% tags=["hide-input"]
# check: a stacked network is trained as if it were alone
steps = len(X) // 64
few = fit_rates([0.05, 0.1], [0, 1], WSD(steps, 1.0, 0.75, 5), epochs=1)
for k, (lr, seed) in enumerate([(0.05, 0), (0.05, 1), (0.1, 0), (0.1, 1)]):
    torch.manual_seed(seed)
    alone = cnn().to(device)
    optimizer = torch.optim.SGD(alone.parameters(), lr=lr, momentum=0.9)
    scheduler = lr_scheduler.LambdaLR(optimizer, as_lambda(
        WSD(steps, lr, 0.75, 5)))
    seen = []
    for (rows,) in batches_of([seed])():
        seen += rows.tolist()
        optimizer.zero_grad()
        F.cross_entropy(alone(X[rows]), y[rows]).backward()
        optimizer.step()
        scheduler.step()
    assert len(set(seen)) == len(seen) == steps * 64 == 1280
    assert seen != sorted(seen)
    for p, q in zip(alone.parameters(), few.stack, strict=True):
        torch.testing.assert_close(p, q[k], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        scores = alone(X_val)
    loss, accuracy = (part[k] for part in held_out(few))
    torch.testing.assert_close(F.cross_entropy(scores, y_val).cpu(), loss,
                               rtol=1e-3, atol=1e-4)
    assert abs((scores.argmax(dim=1) == y_val).float().mean().cpu()
               - accuracy) < 0.01
two = batches_of([3, 3, 4])
first, second = two()[0], two()[0]
assert torch.equal(first[0], first[1]) and not torch.equal(first, second)
assert not torch.equal(first[0], first[2])
group = torch.optim.SGD([{"params": [weight], "lr_scale": 0.5}], lr=9.0)
before = weight.item()
rates, values = train_scheduled(
    weight, lambda w, batch: 3 * w.sum() * batch, lambda: [1, 2], group,
    Factor(0.1, 0, 0.2), 2, after=lambda w: seen.append(w.item()))
assert len(rates) == len(values) == 4 and abs(rates[1] - 0.02) < 1e-12
assert abs(seen[-4] - (before - 0.3)) < 1e-5 and len(seen) == 1284
assert abs(weight.item() - (before - 0.3 - 0.06 - 0.003 - 0.0006)) < 1e-5
assert abs(values[1] - 6 * seen[-4]) < 1e-5

# %% [markdown]
# Which rates are worth trying?
# A *learning rate range test* (after Smith, 2015, who watched the accuracy) raises the rate in every step of one short run and looks where the loss stops falling.

# %%
def lr_range_test(model, loss, batches, make_optimizer, lo, hi, steps):
    """Rates from lo to hi, by a constant factor, and the losses there.

    A copy is trained; the model stays as it is.
    """
    trial = copy.deepcopy(model)
    epochs = math.ceil(steps / len(batches()))
    rates, losses = train_scheduled(
        trial, loss, batches, make_optimizer(trial.parameters()),
        lambda t: lo * (hi / lo) ** (t / (steps - 1)), epochs)
    return rates[:steps], losses[:steps]


untrained = Networks(cnn, range(4))
tested, test_losses = lr_range_test(
    untrained, lambda nets, batch: losses_of(nets, batch).sum(),
    batches_of(range(4)), lambda params: torch.optim.SGD(
        params, lr=1.0, momentum=0.9), 1e-3, 1.0, 100)

# %% tags=["hide-input"]
# check: the range, and the copy
assert len(tested) == len(test_losses) == 100
assert abs(tested[0] - 0.001) < 1e-12 and abs(tested[-1] - 1) < 1e-9
assert math.isclose(tested[50] / tested[49], 1000 ** (1 / 99))
for p, q in zip(untrained.stack, Networks(cnn, range(4)).stack):
    assert torch.equal(p, q)
assert min(test_losses) < test_losses[0] or channels < 4

# %% [markdown]
# The loss is the sum over four networks, so each takes its own steps; the figure below shows the mean.
# The comparison: constant, cosine, linear and WSD, each at six peak rates from 0.0125 to 0.4, with equal steps and batches.
# Seed 0 chooses the rate of each; seeds 1 to 3 give the result, on the same held-out images.

# %%
rates = [0.0125 * 2**k for k in range(6)]
seeds = [0, 1, 2, 3]
steps = num_epochs * (len(X) // 64)
arms = {"constant": lambda t: 1.0, "cosine": Cosine(steps, 1.0),
        "linear": WSD(steps, 1.0, decay=1), "WSD": WSD(steps, 1.0, decay=0.2)}
val_loss, accuracy = {}, {}
trail = []  # the weights after each step of the constant runs, for later


def keep(nets):
    trail.append([p.detach().clone() for p in nets.stack])


for name, schedule in arms.items():
    after = keep if name == "constant" else None
    found = held_out(fit_rates(rates, seeds, schedule, after))
    val_loss[name], accuracy[name] = (part.reshape(6, 4) for part in found)

# %% tags=["hide-input", "chaotic"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot(tested, [loss / 4 for loss in test_losses], lw=1)
left.set(xscale="log", xlabel="rate", ylabel="training loss", ylim=(0, 4))
for i, name in enumerate(arms):
    right.plot(rates, val_loss[name].mean(dim=1), "-", color=f"C{i}", lw=1)
    for k in range(4):
        right.plot([r * 1.05 ** (i - 1.5) for r in rates],
                   val_loss[name][:, k], "osv^"[i], color=f"C{i}", ms=3,
                   label=name if k == 0 else None)
right.set(xscale="log", yscale="log", xlabel="peak rate",
          ylabel="held-out loss")
right.legend(fontsize=8)
d2l.describe(left, """Left: a range test, the loss falls and then rises at
    large rates. Right: held-out loss against the peak rate, four curves that
    meet in the middle; at the largest rates the constant schedule and WSD
    fail, cosine and linear less.""")

# %% [markdown]
# **Figure 12.11.5.** Left: the range test. Right: held-out loss of four seeds (markers, slightly shifted) and their mean (lines) against the peak rate.

# %% tags=["generated"]
full_run = (num_epochs, channels) == (10, 4)
reached = {}


def choose(name):
    """The losses of seeds 1 to 3 at the rate that is best for seed 0."""
    best = val_loss[name][:, 0].argmin().item()
    reached[name] = val_loss[name][best, 1:]
    print(f"{name}: rate {rates[best]:g}, held-out loss of seeds 1 to 3:",
          *(f"{v:.3f}" for v in reached[name].tolist()))


for name in arms:
    choose(name)

# %%
# check 12.11-C6: the worst rate costs most; what decay forgives
at, tuned_at = rates.index(0.2), rates.index(0.1)
mean_loss = {name: table.mean(dim=1) for name, table in val_loss.items()}
if full_run:
    means = torch.stack([reached[name].mean() for name in arms])
    assert means.max() < 2 * means.min()
    for values in mean_loss.values():
        assert values.max() > 4 * values.min()
    falling = torch.stack([mean_loss["cosine"], mean_loss["linear"]])
    assert mean_loss["constant"][at] > 1.5 * falling[:, at].max()
    assert mean_loss["constant"][-1] > 1.2 * mean_loss["linear"][-1]
    assert mean_loss["constant"][0] < 0.8 * falling[:, 0].min()
    # trap 4: at two rates anything can be shown
    other = mean_loss["cosine"][tuned_at]
    assert other < 0.67 * mean_loss["constant"][at]

# %% [markdown]
# Compare the range test with the best peak rates: it suggests an order of magnitude, no more.
# At their chosen rates the four schedules have mean losses within a factor of two of each other, while the worst of the six rates costs each of them more than a factor of four.
# Where the ranges of three seeds overlap, we claim no order.
# At the rate 0.2 cosine and linear decay are far ahead of the constant rate, at 0.4 linear decay still is on average, though it loses there, too; at 0.0125 both are behind, with half of the travel.
# So here a decay forgives a rate of 0.2.
# Comparing arms at one common rate, or at two untuned ones, can favor either: cosine at 0.1 beats a constant 0.2 clearly, and at a common rate of 0.0125 the constant one wins.
# Equal steps are not equal travel, either; Exercise 4 compares at equal $\sum_t\eta_t$.

# %% [markdown]
# ## Averaging instead of decaying
#
# A decay settles the iterates; so does an average of them.
# Ruppert (1988) and Polyak (1990) proposed it for stochastic approximation, *stochastic weight averaging* (Izmailov and others, 2018) for networks, as a plain mean of weights along the path.
# An *exponential moving average* (EMA) of the weights forgets at a constant rate,
#
# $$\bar{\mathbf{w}}\leftarrow\gamma\bar{\mathbf{w}}+(1-\gamma)\mathbf{w}_t, \tag{12.11.3}$$
#
# where $\mathbf{w}_t$ are the weights after step $t$, $\bar{\mathbf{w}}$ their average of the same shape and $0<\gamma<1$; it reaches back over about $\frac1{1-\gamma}$ steps.
# Training does not notice the average, and it can be evaluated at any time.

# %% tags=["export"]
class EMA:
    """An exponential moving average of a model's parameters and buffers.

    Call `update(model)` after each step; `model` of this object is the
    averaged copy, in evaluation mode. Buffers are copied, not averaged.
    """

    def __init__(self, model, decay=0.99):
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for mean, p in zip(self.model.parameters(), model.parameters(),
                           strict=True):
            mean.lerp_(p, 1 - self.decay)
        for kept, b in zip(self.model.buffers(), model.buffers(),
                           strict=True):
            kept.copy_(b)

# %% [markdown]
# PyTorch's `AveragedModel` with `get_ema_multi_avg_fn` does the same, except that its first update copies; by default it takes the plain mean.
# The first measurement is on the valley: the mean of the last $N=100$ iterates of a constant rate has a mean square near $\frac{\sigma^2}{\lambda^2N}$ in the steep direction, at the rate 0.1 as at 0.3.

# %%
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
ema = EMA(model, decay=0.9)
library = swa_utils.AveragedModel(
    model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
library.update_parameters(model)
for _ in range(5):
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape)
        model(torch.randn(4, 3))
    ema.update(model)
    library.update_parameters(model)
for name, value in library.module.state_dict().items():
    torch.testing.assert_close(ema.model.state_dict()[name], value)
assert not ema.model.training and model.training
assert all(p.requires_grad for p in model.parameters())
assert not any(p.requires_grad for p in ema.model.parameters())
assert EMA(model).decay == 0.99
for lr in (0.1, 0.3):
    tail = chains(lambda t, lr=lr: lr, 200)[101:, :, 1].mean(dim=0)
    assert abs(tail.square().mean() * 100 * 4**2 - 1) < 0.15

# %%
nets, every = Networks(cnn, seeds * len(rates)), len(X) // 64
ema = EMA(nets, decay=0.95)
curves = {"last iterate": [], "EMA": []}
for t, weights in enumerate(trail, start=1):
    with torch.no_grad():
        for p, w in zip(nets.stack, weights, strict=True):
            p.copy_(w)
    ema.update(nets)
    if t % every == 0:
        curves["last iterate"].append(held_out(nets)[0])
        curves["EMA"].append(held_out(ema.model)[0])
curves = {name: torch.stack(rows).reshape(num_epochs, len(rates), 4)
          for name, rows in curves.items()}
torch.testing.assert_close(curves["last iterate"][-1], val_loss["constant"])
val_loss["EMA"] = curves["EMA"][-1]
choose("EMA")

# %% tags=["hide-input", "chaotic"]
fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained",
                         sharey=True)
for ax, lr in zip(axes, (0.1, 0.2)):
    for i, (name, rows) in enumerate(curves.items()):
        for k in range(4):
            ax.plot(range(1, num_epochs + 1), rows[:, rates.index(lr), k],
                    ["-", "--"][i], color=f"C{i}", lw=1,
                    label=name if k == 0 else None)
    ax.set(yscale="log", xlabel="epoch", title=f"constant rate {lr}")
axes[0].set_ylabel("held-out loss")
axes[1].legend(fontsize=8)
d2l.describe(axes[0], """Held-out loss against the epoch, four seeds each. At
    rate 0.1 the curves of last iterate and EMA come close; at 0.2 the last
    iterate jumps up and down and the EMA lies below it.""")

# %% [markdown]
# **Figure 12.11.6.** The last iterate and the EMA with $\gamma=0.95$ of the same runs, four seeds.

# %%
last, mean = val_loss["constant"], val_loss["EMA"]
if full_run:
    assert (mean[at] < last[at]).all()
    assert last[at].mean() > 1.5 * mean[at].mean()
    like = mean[:tuned_at + 1].mean(dim=1) / mean_loss["WSD"][:tuned_at + 1]
    assert (like - 1).abs().max() < 0.2
    assert reached["EMA"].mean() < 2 * means.min()

# %% [markdown]
# These are the constant runs of the comparison, averaged afterwards, so the EMA had the same six rates.
# At the rate 0.2 the average of each seed is better than its last iterate.
# Up to 0.1 its mean loss is within 20 % of that of WSD at the same peak, without a decay.
# With batch normalization the EMA above copies the moving statistics, which belong to the last weights, not to the averaged ones; recompute them with a pass over training data (`swa_utils.update_bn`).

# %%
def with_norm():
    """A network with batch normalization behind a linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64),
                         nn.ReLU(), nn.Linear(64, 10))


norm_losses = []
for seed in range(3):
    torch.manual_seed(seed)
    model = with_norm().to(device)
    swa = swa_utils.AveragedModel(model)  # a plain mean
    batch = (rows[0] for _ in range(3) for rows in batches_of([seed])())
    train_scheduled(
        model, lambda model, rows: F.cross_entropy(model(X[rows]), y[rows]),
        lambda: batch, torch.optim.SGD(model.parameters(), lr=1.0),
        lambda t: 0.5, 1, after=swa.update_parameters)
    copied = copy.deepcopy(swa).eval()
    swa_utils.update_bn(X.split(64), swa)
    with torch.no_grad():
        norm_losses.append([F.cross_entropy(net.eval()(X_val), y_val).item()
                            for net in (model, copied, swa)])
norm_losses = torch.tensor(norm_losses)  # last iterate, copied, recomputed
print("mean with the statistics copied:",
      *(f"{v:.2f}" for v in norm_losses[:, 1].tolist()), "and recomputed:",
      *(f"{v:.2f}" for v in norm_losses[:, 2].tolist()))
assert (norm_losses[:, 2] < 0.9 * norm_losses[:, 1]).all()
assert (norm_losses[:, 0] < norm_losses[:, 2]).all()

# %% [markdown]
# In three seeds the recomputed statistics lower the loss of the averaged network (a plain mean over three epochs, the first steps included, and here worse than the last iterate).
#
# *Schedule-free* learning (Defazio and others, 2024) puts the average into the method.
# A fast sequence $\mathbf{z}$ takes the steps, $\mathbf{x}$ is its running mean, and gradients are taken between them:
#
# $$\mathbf{y}=(1-\beta)\mathbf{z}+\beta\mathbf{x},\qquad \mathbf{z}\leftarrow\mathbf{z}-\eta\,\mathbf{g}(\mathbf{y}),\qquad \mathbf{x}\leftarrow\left(1-\tfrac1t\right)\mathbf{x}+\tfrac1t\mathbf{z}, \tag{12.11.4}$$
#
# all of the shape of the weights, with $t=1,2,\dots$, a gradient (or Adam's scaled one) $\mathbf{g}$, and $0\le\beta\le1$, often 0.9.
# With $\beta=0$ it is Polyak and Ruppert's averaging.
# No number of steps is fixed; what stays is a rate to tune, and a switch: train at $\mathbf{y}$, evaluate at $\mathbf{x}$.

# %%
def schedule_free_adamw(params, grads, state, hyper):
    """One step in place: `params` are y; state["x"] is to be evaluated.

    To be easy to read it keeps z and x; one of them follows from y.
    `hyper` has "lr" and may have "betas" (0.9, 0.999), "eps" (1e-8) and
    "weight_decay" (0.01).
    """
    beta, beta2 = hyper.get("betas", (0.9, 0.999))
    for name in ("z", "x"):
        state.setdefault(name, [p.clone() for p in params])
    squares = state.setdefault("s", [torch.zeros_like(p) for p in params])
    t = state["t"] = state.get("t", 0) + 1
    for p, g, z, x, s in zip(params, grads, state["z"], state["x"], squares,
                             strict=True):
        s.mul_(beta2).add_((1 - beta2) * g**2)
        scaled = g / ((s / (1 - beta2**t)).sqrt() + hyper.get("eps", 1e-8))
        z -= hyper["lr"] * (scaled + hyper.get("weight_decay", 0.01) * p)
        x.lerp_(z, 1 / t)
        p.copy_((1 - beta) * z + beta * x)


class Rule(torch.optim.Optimizer):
    """A PyTorch optimizer of one of this chapter's step functions."""

    def __init__(self, params, step, **hyper):
        super().__init__(params, hyper)
        self.rule, self.kept = step, {}

    @torch.no_grad()
    def step(self):
        for k, group in enumerate(self.param_groups):
            self.rule(group["params"], [p.grad for p in group["params"]],
                      self.kept.setdefault(k, {}), group)

# %%
# check: with beta = 0 it is AdamW without momentum, and its mean
def path_of(make, steps=50):
    """Iterates of an optimizer on a fixed quadratic, and the optimizer."""
    w = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer, path = make([w]), []
    for _ in range(steps):
        optimizer.zero_grad()
        (w @ torch.diag(curvatures) @ w / 2 + w.sum()).backward()
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path), optimizer


options = {"lr": 0.1, "betas": (0.0, 0.99), "eps": 1e-6, "weight_decay": 0.1}
ours, optimizer = path_of(lambda p: Rule(p, schedule_free_adamw, **options))
theirs, _ = path_of(lambda p: torch.optim.AdamW(p, **options))
torch.testing.assert_close(ours, theirs)
torch.testing.assert_close(optimizer.kept[0]["x"][0], theirs.mean(dim=0))
plain, _ = path_of(lambda p: Rule(p, adamw, lr=0.1))
torch.testing.assert_close(plain, path_of(
    lambda p: torch.optim.AdamW(p, lr=0.1))[0])
ours, optimizer = path_of(lambda p: Rule(p, schedule_free_adamw, lr=0.1), 3)
z, x = (optimizer.kept[0][name][0] for name in "zx")
torch.testing.assert_close(ours[-1], 0.1 * z + 0.9 * x)
assert (z - x).abs().min() > 0.05
named = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
torch.testing.assert_close(ours, path_of(
    lambda p: Rule(p, schedule_free_adamw, **named), 3)[0])
w, state = [torch.tensor([2.0])], {}  # no gradient: decay alone, taken at y
for _ in range(3):
    schedule_free_adamw(w, [torch.zeros(1)], state,
                        {"lr": 0.1, "weight_decay": 0.5})
assert abs(state["z"][0] - (1.805 - 0.05 * 1.84775)) < 1e-5

# %%
def mlp(width=64):
    """Two linear layers with a ReLU between them."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(),
                         nn.Linear(width, 10))


adam_rates = [0.003, 0.01, 0.03, 0.1]
rivals = {"constant": (adamw, lambda lr: lambda t: lr),
          "linear": (adamw, lambda lr: WSD(steps, lr, decay=1)),
          "schedule-free": (schedule_free_adamw, lambda lr: lambda t: lr)}
free = {name: torch.zeros(len(adam_rates), len(seeds)) for name in rivals}
for name, (rule, schedule) in rivals.items():
    for i, lr in enumerate(adam_rates):
        nets = Networks(mlp, seeds)
        optimizer = Rule(nets.parameters(), rule, lr=lr)
        train_scheduled(nets, lambda nets, batch: losses_of(nets, batch).sum(),
                        batches_of(seeds), optimizer, schedule(lr), num_epochs)
        if "x" in optimizer.kept[0]:  # the switch
            nets.stack = nn.ParameterList(optimizer.kept[0]["x"])
        free[name][i] = held_out(nets)[0]

# %% tags=["generated"]
free_reached = {}
for name, table in free.items():
    i = table[:, 0].argmin().item()
    free_reached[name] = table[i, 1:]
    print(f"{name}: rate {adam_rates[i]:g}, held-out loss of seeds 1 to 3:",
          *(f"{v:.3f}" for v in table[i, 1:].tolist()))
assert torch.equal(nets.stack[0], optimizer.kept[0]["x"][0])  # evaluated at x
if full_run:
    tuned_means = torch.stack([v.mean() for v in free_reached.values()])
    assert tuned_means.max() < 1.5 * tuned_means.min()
    wide = {name: table[-1].mean() for name, table in free.items()}
    assert wide["constant"] > 1.5 * max(wide["linear"], wide["schedule-free"])

# %% [markdown]
# On a network with two linear layers, four rates each and the same steps, AdamW with a constant rate, with linear decay and schedule-free AdamW have mean losses within a factor of 1.5 at their chosen rates; at the rate 0.1 schedule-free AdamW is far better than the constant rate, as the decay is, without knowing the number of steps.

# %% [markdown]
# ## Why warm up?
#
# Three reasons are on offer.
# (a) The loss is sharp at the start, training at a small rate leads to flatter regions, and those tolerate a larger peak rate (Gilmer and others, 2022; Kalra and Barkeshli, 2024).
# (b) Adam's $\hat{\mathbf{s}}$ rests on few gradients at first, and its scales are unreliable (Liu and others, 2020).
# (c) Adam's first updates have the size $\eta$ whatever the gradient (Ma and Yarats, 2021).
# Reason (a) predicts a start above the limit of stability; the others say what should make warm-up superfluous: (b) better estimates of $\hat{\mathbf{s}}$, (b) and (c) another optimizer.
# The network has eight linear layers of width 64 with ReLUs and He's initialization; warm-up takes 15 % of the steps, and linear decay the rest, so both arms reach the same peak.
#
# For (b) we need an Adam whose squares start from the mean over 20 batches at the initial weights.
# Only $\hat{\mathbf{s}}$ changes; but with it the first update, which is then no longer $\pm\eta$, so the run does not separate (b) from (c).

# %%
def deep_mlp(width=64, depth=8):
    """`depth` linear layers with ReLUs, He's initialization."""
    layers = [nn.Flatten(), nn.Linear(64, width), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(width, 10))
    return net.apply(init_he)


def informed_adam(params, grads, state, hyper):
    """Adam; state["s"], if given, counts as the squares of 20 steps."""
    seen = state.setdefault("seen", 20 if "s" in state else 0)
    for name in ("v", "s"):
        state.setdefault(name, [torch.zeros_like(p) for p in params])
    t = state["t"] = state.get("t", 0) + 1
    for p, g, v, s in zip(params, grads, state["v"], state["s"], strict=True):
        v.mul_(0.9).add_(0.1 * g)
        s.mul_(0.999).add_(0.001 * g**2)
        scale = (s / (1 - 0.999 ** (t + seen))).sqrt() + 1e-8
        p -= hyper["lr"] * v / (1 - 0.9**t) / scale


def early_squares(nets, count=20):
    """Adam's s after `count` batches at fixed weights, in equal parts."""
    batches = batches_of([seed + 100 for seed in nets.seeds])()[:count]
    squares = [torch.zeros_like(p) for p in nets.stack]
    for batch in batches:
        grads = torch.autograd.grad(losses_of(nets, batch).sum(),
                                    list(nets.stack))
        for s, g in zip(squares, grads):
            s += g**2 / len(batches) * (1 - 0.999**count)
    return squares

# %% tags=["hide-input"]
# check: without early squares it is Adam; with them the scale is right
ours, _ = path_of(lambda p: Rule(p, informed_adam, lr=0.1))
theirs, _ = path_of(lambda p: torch.optim.Adam(p, lr=0.1))
torch.testing.assert_close(ours, theirs)
w, g = [torch.ones(2)], [torch.tensor([2.0, -3.0])]
state = {"s": [4 * g[0]**2 * (1 - 0.999**20)]}
informed_adam(w, g, state, {"lr": 0.1})
old, new = 1 - 0.999**20, 1 - 0.999**21
step = 0.1 / math.sqrt((4 * old * 0.999 + 0.001) / new)
torch.testing.assert_close(w[0], 1 - step * g[0].sign())
nets = Networks(deep_mlp, [0, 1])
squares = early_squares(nets)
grads = [torch.autograd.grad(losses_of(nets, batch)[1], list(nets.stack))
         for batch in batches_of([100, 101])()]
for k in (0, 3, 15):
    torch.testing.assert_close(squares[k][1], (1 - 0.999**20) * torch.stack(
        [part[k][1] for part in grads]).square().mean(dim=0))
assert len(grads) == 20 and all(p.grad is None for p in nets.stack)
sizes = [p.shape[1:] for p in nets.stack if p.ndim == 3]
assert len(sizes) == 8 and sizes[0] == sizes[3] == (64, 64)
assert abs(nets.stack[2].std() - math.sqrt(2 / 64)) < 0.01

# %%
def fit_adam(lr, warmup, informed=False):
    """Accuracies (3,) of deep networks; `warmup` is a share of the steps."""
    nets = Networks(deep_mlp, [0, 1, 2])
    optimizer = Rule(nets.parameters(), informed_adam, lr=1.0)
    if informed:
        optimizer.kept[0] = {"s": early_squares(nets)}
    train_scheduled(
        nets, lambda nets, batch: losses_of(nets, batch).sum(),
        batches_of(nets.seeds), optimizer,
        WSD(steps, lr, 1 - warmup, round(warmup * steps)), num_epochs)
    return held_out(nets)[1]


def fit_momentum(grid, warmup, after=None, epochs=num_epochs):
    """The same for SGD with momentum at all rates of `grid`, (rates, 3)."""
    nets = fit_rates(grid, [0, 1, 2], WSD(steps, 1.0, 1 - warmup, round(
        warmup * steps)), after, epochs, deep_mlp)
    return held_out(nets)[1].reshape(len(grid), 3)


grids = {"Adam": [0.003, 0.01, 0.03, 0.05],
         "SGD with momentum": [0.02, 0.04, 0.08, 0.16]}
deep = {}
for kind, warmup in (("none", 0), ("warm-up", 0.15)):
    for lr in grids["Adam"]:
        deep["Adam", lr, kind] = fit_adam(lr, warmup)
    sgd = fit_momentum(grids["SGD with momentum"], warmup)
    for lr, row in zip(grids["SGD with momentum"], sgd):
        deep["SGD with momentum", lr, kind] = row
for lr in (0.01, 0.03):
    deep["Adam", lr, "informed"] = fit_adam(lr, 0, informed=True)

# %% tags=["hide-input", "chaotic"]
fig, axes = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained",
                         sharey=True)
for ax, name in zip(axes, grids):
    for i, kind in enumerate(("none", "warm-up", "informed")):
        grid = [lr for lr in grids[name] if (name, lr, kind) in deep]
        rows = [deep[name, lr, kind] for lr in grid]
        ax.plot(grid, [row.mean() for row in rows], "-", color=f"C{i}", lw=1)
        for k, (lr, row) in enumerate(zip(grid, rows)):
            ax.plot([lr * 1.06 ** (i - 1)] * len(row), row, "osv"[i],
                    color=f"C{i}", ms=3.5, label=kind if k == 0 else None)
    ax.set(xscale="log", xlabel="peak rate", title=name)
    ax.set_xticks(grids[name], [f"{lr:g}" for lr in grids[name]])
    ax.minorticks_off()
axes[0].set_ylabel("held-out accuracy")
axes[0].legend(fontsize=8)
d2l.describe(axes[0], """Accuracy against the peak rate for Adam and for SGD
    with momentum. All kinds agree at small rates. For Adam the runs without
    warm-up fall off first; for SGD both kinds fall off at 0.16.""")

# %% [markdown]
# **Figure 12.11.7.** Accuracy of three seeds (markers) and mean (lines): no warm-up, 15 % warm-up, or no warm-up but $\hat{\mathbf{s}}$ from 20 batches.

# %% tags=["generated"]
if full_run:
    assert deep["Adam", 0.05, "warm-up"].min() > deep[
        "Adam", 0.05, "none"].max() + 0.05
    assert deep["Adam", 0.003, "none"].min() > 0.9
    assert abs(deep["Adam", 0.01, "warm-up"].mean()
               - deep["Adam", 0.01, "none"].mean()) < 0.02
    for kind in ("none", "warm-up"):
        assert deep["Adam", 0.03, "informed"].mean() < deep[
            "Adam", 0.03, kind].mean() - 0.02
    assert abs(deep["Adam", 0.01, "informed"].mean()
               - deep["Adam", 0.01, "none"].mean()) < 0.02
    for lr in (0.02, 0.04):
        assert abs(deep["SGD with momentum", lr, "warm-up"].mean()
                   - deep["SGD with momentum", lr, "none"].mean()) < 0.02
    for kind in ("none", "warm-up"):
        assert deep["SGD with momentum", 0.16, kind].min() < 0.9
for (name, lr, kind), values in deep.items():
    if lr in (0.03, 0.05, 0.16):
        print(f"{name} at {lr}, {kind}:",
              *(f"{v:.2f}" for v in values.tolist()))

# %% tags=["hide-input", "chaotic"]
def scaled_sharpness(nets, lr, k):
    """Rate times sharpness of network k on 100 images."""
    params = [p[k].detach().requires_grad_() for p in nets.stack]

    def loss():
        scores = functional_call(nets.one[0], dict(zip(nets.names, params)),
                                 (X[:100],))
        return F.cross_entropy(scores, y[:100])
    return lr * sharpness(loss, params,
                          generator=torch.Generator().manual_seed(1))


marks = [0, 1, 2, 4, 8, 12, 16, 24, 32]
products = {}
for warmup in (0, 0.15):
    rate = WSD(steps, 0.16, 1 - warmup, round(warmup * steps))
    rows, count = [], [0]

    def look(nets, rate=rate, rows=rows, count=count):
        if count[0] in marks:  # before step number count[0]
            rows.append([scaled_sharpness(nets, rate(count[0]), k)
                         for k in range(3)])
        count[0] += 1
    look(Networks(deep_mlp, [0, 1, 2]))
    fit_momentum([0.16], warmup, after=look, epochs=min(2, num_epochs))
    products[warmup] = torch.tensor(rows)

fig, axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained",
                         sharey=True)
for ax, (warmup, rows) in zip(axes, products.items()):
    ax.plot(marks[:len(rows)], rows, "o-", ms=3, lw=1)
    ax.axhline(3.8, color="#555555", ls="--", lw=1)
    ax.set(xlabel="step", title="15 % warm-up" if warmup else "no warm-up")
axes[0].set_ylabel("rate times sharpness")
d2l.describe(axes[0], """Rate times sharpness of three seeds over the first 32
    steps. Without warm-up two start above the limit of 3.8; they fall
    below it at once; with warm-up all start at 0.""")

# %% [markdown]
# **Figure 12.11.8.** SGD with momentum at the peak rate 0.16: $\eta_t$ times the sharpness $\lambda_{\max}$ ([Section 12.3](03-gradient-descent.ipynb)) on 100 images, three seeds; dashed, the limit $2(1+\beta)=3.8$ of a quadratic ([Section 12.6](06-momentum.ipynb)).

# %%
if full_run:
    assert (products[0][0] > 3.8).sum() == 2
    assert products[0][marks.index(4)].max() < 3.8
    assert products[0.15][:4].max() < 3.8
    assert products[0][4:].max() > 3.8

# %% [markdown]
# Here warm-up widens the usable range of Adam and changes little inside it: at 0.01 the mean accuracies with and without differ by less than two points; at 0.05 each of three seeds with it is better by more than five points than all without.
# Estimates of $\hat{\mathbf{s}}$ from 20 batches do not replace it: at 0.01 they changed little, at 0.03 they did harm.
# This does not refute (b): such estimates belong to the initial weights and still weigh as 20 steps when the gradients have changed; another start of $\hat{\mathbf{s}}$ brought benefits like those of warm-up (Kalra and Barkeshli, 2024).
# SGD with momentum has neither $\hat{\mathbf{s}}$ nor steps of fixed size, and shows no gain: up to 0.04 the two arms agree, at 0.08 three seeds decide nothing, and at 0.16 both have lost accuracy, in the runs printed above more with warm-up.
# So what helped here belongs to Adam: (b), (c), or sharpness as Adam's scaling sees it, which we did not measure; these runs do not tell them apart.
# Figure 12.11.8 shows the sharp start of (a): without warm-up two of three networks begin above the limit of stability.
# But all are below it after four steps on their own, and networks cross it again later.
# For SGD at this size a start above the limit did not decide; in larger networks Gilmer and others (2022) found that it matters.

# %% [markdown]
# ## From a narrow network to a wide one
#
# Tuning a rate on a large network is expensive.
# In the *maximal update parametrization* ($\mu$P; Yang and others, 2022) the best rate of a narrow network suits a wide one.
# With Adam each entry of a weight matrix moves by about $\eta$, whatever its gradient.
# A unit with $w$ inputs adds up $w$ such moves, which all point the way of the gradient, so its output changes like $\eta w$.
# Hence hidden and output layers get rates proportional to $1/w$; the first layer, which always has 64 inputs, keeps $\eta$; and the output weights start at 0.

# %%
def mup_groups(parameters, base_width, lr):
    """Parameter groups for Adam, from pairs of a name and a tensor.

    The weights (..., out, in) behind the first layer get the rate
    lr * base_width / in, the others, and all biases, get lr.
    """
    groups, first = [], True
    for name, p in parameters:
        scale = 1
        if name.endswith("weight"):
            scale = 1 if first else base_width / p.shape[-1]
            first = False
        groups.append({"params": [p], "lr": lr * scale, "lr_scale": scale})
    return groups


def three_layers(width):
    """64-width-width-10 with ReLUs; the last weights start at 0."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(),
                        nn.Linear(width, width), nn.ReLU(),
                        nn.Linear(width, 10))
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return net


def fit_width(width, lr, mup):
    """Training losses (3,) after 5 epochs (100 steps) of Adam."""
    nets = Networks(lambda: three_layers(width), [0, 1, 2])
    pairs = zip(nets.names, nets.stack)
    groups = mup_groups(pairs, 16, lr) if mup else list(nets.stack)
    train_scheduled(
        nets, lambda nets, batch: losses_of(nets, batch).sum(),
        batches_of(nets.seeds), torch.optim.Adam(groups, lr=lr, fused=True),
        lambda t: lr, min(5, num_epochs))
    with torch.no_grad():
        return losses_of(nets, torch.arange(len(X)).expand(3, -1)).cpu()


# %%
width_rates = [0.004 * 2**k for k in range(6)]
widths = [16, 64, 256]
at_width = {(16, False): [fit_width(16, lr, False) for lr in width_rates]}
at_width[16, True] = at_width[16, False]  # the base width
for width in widths[1:]:
    for mup in (False, True):
        at_width[width, mup] = [fit_width(width, lr, mup)
                                for lr in width_rates]
at_width = {key: torch.stack(rows) for key, rows in at_width.items()}

# %% tags=["hide-input", "chaotic"]
fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained",
                         sharey=True)
for ax, mup in zip(axes, (False, True)):
    for i, width in enumerate(widths):
        rows = at_width[width, mup]
        ax.plot(width_rates, rows.mean(dim=1), "-", color=f"C{i}", lw=1)
        for k in range(3):
            ax.plot(width_rates, rows[:, k], "osv"[i], color=f"C{i}", ms=3.5,
                    label=f"width {width}" if k == 0 else None)
    ax.set(xscale="log", yscale="log", xlabel=r"rate $\eta$",
           title=r"$\mu$P" if mup else "one rate everywhere")
axes[0].set_ylabel("training loss")
axes[1].legend(fontsize=8)
d2l.describe(axes[0], """Training loss against the rate for three widths. With
    one rate the lowest point moves to smaller rates for wider networks; with
    muP the three lowest points lie near the same rate.""")

# %% [markdown]
# **Figure 12.11.9.** Training loss after 100 steps, three seeds (markers) and mean (lines); both arms start with the same weights.

# %% tags=["generated"]
lowest = {key: rows.mean(dim=1).argmin().item()
          for key, rows in at_width.items()}
for mup in (False, True):
    print("muP:" if mup else "one rate:", {
        width: width_rates[lowest[width, mup]] for width in widths})
if full_run:
    assert lowest[256, True] - lowest[256, False] >= 2
    at = width_rates.index(0.064)
    narrow = at_width[16, False].mean(dim=1)
    assert narrow[at] < 1.3 * narrow.min()
    kept = {mup: at_width[256, mup][at].mean() for mup in (False, True)}
    assert kept[False] > 2 * kept[True]  # at the narrow network's rate
    assert kept[True] < 2 * at_width[256, True].mean(dim=1).min()
    tuned_wide = [at_width[256, mup].mean(dim=1).min()
                  for mup in (False, True)]
    assert abs(tuned_wide[0] - tuned_wide[1]) < 0.04
    one, two = (at_width[256, mup][lowest[256, mup]] for mup in (False, True))
    assert max(one.min(), two.min()) < min(one.max(), two.max())

# %% tags=["hide-input"]
# check: the groups, and the base width
net = three_layers(32)
groups = mup_groups(net.named_parameters(), 16, 0.1)
assert [group["lr_scale"] for group in groups] == [1, 1, 0.5, 1, 0.5, 1]
assert [group["lr"] for group in groups] == [0.1, 0.1, 0.05, 0.1, 0.05, 0.1]
for group, p in zip(groups, net.parameters(), strict=True):
    assert group["params"] == [p] or group["params"][0] is p
assert net[-1].weight.abs().max() == net[-1].bias.abs().max() == 0
assert net[3].weight.shape == (32, 32)
torch.testing.assert_close(fit_width(16, 0.008, True), at_width[16, True][1],
                           rtol=0.05, atol=0.01)

# %% [markdown]
# With $\mu$P the rate 0.064, at or near the best of width 16, also serves width 256: the loss there is within a factor of two of the best.
# With one rate everywhere the loss at that rate is more than twice as large, and the wide network's own best rate is at least four times smaller.
# What transfers is the rate: at their own best rates the ranges of the two wide networks' three seeds overlap, so neither is clearly ahead.
# In language models the moves line up with the inputs only briefly; later, weight decay that does not shrink with the rate lets rates transfer (Kosson and others, 2025).
#
# ## Where it stands
#
# Warm-up and decay to 0 or to a tenth of the peak are common for large models.
# Among decays, linear to 0 beat cosine to a tenth in a large study of language models at tuned peaks and compute-optimal lengths (Bergsma and others, 2025); WSD performs like cosine, and one run serves several lengths (Hägele and others, 2024).
# The shape of such loss curves agrees with bounds for convex functions (Schaipp and others, 2025).

# %% [markdown]
# ## Summary
#
# - A schedule as a pure function of the step can be plotted, tested and asked in any order; the rate is set before the step.
# - For noisy descent on quadratics the expected loss under any schedule is an exact recursion; in a valley with two curvatures, decay beat the best constant rate within 200 steps.
# - On digits the worst of six rates cost more than the choice among constant, cosine, linear, WSD and EMA; decay, EMA and schedule-free learning forgave rates somewhat above the best, not every high rate.
# - Recompute batch normalization at averaged weights.
# - On a small deep network warm-up widened Adam's range of usable rates and changed little near the best one; momentum SGD showed no gain.
# - In short runs with $\mu$P a good rate of a narrow network also served one 16 times as wide; once tuned, the wide network showed no clear gain from it.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.11-1
#
# Implement one-cycle: a cosine rise from `max_lr / 25` to `max_lr` in the first 30 % of the steps and a cosine fall to the first rate divided by $10^4$.
# Compare with `OneCycleLR`.
# What else does PyTorch's scheduler change?

# %% [markdown]
# #### Solution 12.11-1

# %% [markdown]
# The rise ends at step $0.3T-1$ and the fall at step $T-1$.
# By default the momentum goes the other way, from 0.95 down to 0.85 and back.

# %%
class OneCycle:
    """Cosine rise in the first share of the steps, then a cosine fall."""

    def __init__(self, total, max_lr, share=0.3):
        self.total, self.max_lr, self.share = total, max_lr, share

    def __call__(self, step):
        top = self.share * self.total - 1
        first, last = self.max_lr / 25, self.max_lr / 25 / 1e4
        if step <= top:
            a, b, done = first, self.max_lr, step / top
        else:
            done = (step - top) / (self.total - 1 - top)
            a, b = self.max_lr, last
        return b + (a - b) * (1 + math.cos(math.pi * done)) / 2


optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
scheduler = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=50)
momenta = []
for step in range(50):
    group = optimizer.param_groups[0]
    assert abs(group["lr"] - OneCycle(50, 0.5)(step)) < 1e-12
    momenta.append(group["momentum"])
    optimizer.step()
    if step < 49:
        scheduler.step()
assert momenta[0] == 0.95 and abs(momenta[14] - 0.85) < 1e-9
assert abs(momenta[-1] - 0.95) < 1e-9

# %% [markdown]
# ### Exercise 12.11-2
#
# How long must the warm-up of the deep network be with Adam at 0.05?
# Try 0 to 40 % of the steps.

# %% [markdown]
# #### Solution 12.11-2

# %% [markdown]
# Of the four lengths 15 % has the best worst network: 5 % is too short for some, and 40 % is not better than 15 %.
# Each length reaches the same peak; a warm-up that overlaps the decay would lower it, and the comparison would be one of peaks.

# %% tags=["generated"]
lengths = {0: deep["Adam", 0.05, "none"], 0.05: fit_adam(0.05, 0.05),
           0.15: deep["Adam", 0.05, "warm-up"], 0.4: fit_adam(0.05, 0.4)}
for share, values in lengths.items():
    print(f"{share:.0%}:", *(f"{v:.2f}" for v in values.tolist()))
if full_run:
    best = max(lengths, key=lambda share: lengths[share].min())
    assert best == 0.15 and lengths[0.15].min() > 0.88
    assert lengths[0].max() < 0.88

# %% [markdown]
# ### Exercise 12.11-3
#
# Write the plateau rule: if the loss was not better than the best so far by a factor $1-10^{-4}$ for more than `patience` calls, multiply the rate by `factor`.
# Compare with `ReduceLROnPlateau` on a list of losses.

# %% [markdown]
# #### Solution 12.11-3

# %% [markdown]
# This rule cannot be a pure function of the step: it needs the losses.

# %%
class Plateau:
    """Cut `lr` after more than `patience` losses without progress."""

    def __init__(self, lr, factor=0.5, patience=2):
        self.lr, self.factor, self.patience = lr, factor, patience
        self.best, self.bad = math.inf, 0

    def __call__(self, loss):
        if loss < self.best * (1 - 1e-4):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.bad > self.patience:
            self.lr, self.bad = self.lr * self.factor, 0
        return self.lr


history = [1.0, 0.8, 0.9, 0.85, 0.81, 0.7, 0.69999, 0.7, 0.71, 0.72, 0.73,
           0.74, 0.5, 0.5, 0.5, 0.5, 0.4]
optimizer = torch.optim.SGD([weight], lr=0.4)
library = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
plateau, cuts = Plateau(0.4), []
for loss in history:
    library.step(loss)
    cuts.append(plateau(loss))
    assert cuts[-1] == optimizer.param_groups[0]["lr"]
assert cuts[4] == 0.2 and cuts[3] == 0.4 and cuts[-1] == 0.4 / 2**4

# %% [markdown]
# ### Exercise 12.11-4
#
# Linear decay from $2\eta$ has nearly the total $\sum_t\eta_t$ of a constant rate $\eta$.
# Compare the two at equal totals with the runs of the comparison.

# %% [markdown]
# #### Solution 12.11-4

# %% [markdown]
# At the common peaks 0.0125 and 0.025 linear decay is far behind; at equal totals it is within 40 % of the constant rate there, and at the total of a constant 0.05.
# So part of what a decay loses at a common *peak* is lost travel.

# %% tags=["generated"]
for k, lr in enumerate(rates[:-1]):
    print(f"constant {lr:g}: {val_loss['constant'][k].mean():.3f}, "
          f"linear from {2 * lr:g}: {val_loss['linear'][k + 1].mean():.3f}")
total = sum(arms["linear"](t) for t in range(steps))
assert abs(2 * total / steps - 1) < 1.5 / steps
if full_run:
    ratios = mean_loss["linear"][1:] / mean_loss["constant"][:-1]
    peaks = mean_loss["linear"][:2] / mean_loss["constant"][:2]
    assert 0.6 < ratios[:3].min() and ratios[:3].max() < 1.4
    assert (ratios[:2] < 0.9 * peaks).all()

# %% [markdown]
# ### Exercise 12.11-5
#
# *Stochastic gradient Langevin dynamics* (Welling and Teh, 2011) adds noise of standard deviation $\sqrt{2\eta}$ to each step.
# What is the stationary variance on $\frac\lambda2x^2$?

# %% [markdown]
# #### Solution 12.11-5

# %% [markdown]
# The noise $\sqrt{2\eta}$ is that of a gradient with $\sigma=\sqrt{2/\eta}$, so the floor of [Section 12.4](04-sgd.ipynb) is $\frac{2}{\lambda(2-\eta\lambda)}$, which tends to $\frac1\lambda$ for small $\eta$: the variance of the density proportional to $e^{-\lambda x^2/2}$.
# Without decay of $\eta$ the variance stays too large, by the factor $\frac2{2-\eta\lambda}$.

# %%
rng = torch.Generator().manual_seed(5)
for eta, curvature in ((0.05, 2.0), (0.5, 1.0)):
    x = torch.zeros(40_000, dtype=torch.float64)
    for _ in range(200):
        noise = torch.randn(len(x), generator=rng, dtype=x.dtype)
        x = x - eta * curvature * x + math.sqrt(2 * eta) * noise
    exact = stationary_variance(eta, curvature, math.sqrt(2 / eta))
    assert abs(x.var() / exact - 1) < 0.03
    assert abs(exact * curvature * (1 - eta * curvature / 2) - 1) < 1e-12

# %% [markdown]
# ## Sources
#
# - I. Loshchilov and F. Hutter, *SGDR: stochastic gradient descent with warm restarts* (2016), [arXiv:1608.03983](https://arxiv.org/abs/1608.03983): the cosine, there restarted.
# - L. N. Smith, *Cyclical learning rates for training neural networks* (2015), [arXiv:1506.01186](https://arxiv.org/abs/1506.01186): the range test; with N. Topin, *Super-convergence* (2017), [arXiv:1708.07120](https://arxiv.org/abs/1708.07120): one cycle.
# - S. Hu et al., *MiniCPM: unveiling the potential of small language models with scalable training strategies* (2024), [arXiv:2404.06395](https://arxiv.org/abs/2404.06395): WSD.
# - A. Defazio, A. Cutkosky, H. Mehta and K. Mishchenko, *Optimal linear decay learning rate schedules and further refinements* (2023), [arXiv:2310.07831](https://arxiv.org/abs/2310.07831): linear decay from a worst-case analysis of the last iterate.
# - B. T. Polyak and A. B. Juditsky, *Acceleration of stochastic approximation by averaging*, SIAM Journal on Control and Optimization 30 (1992); it names Polyak's and Ruppert's independent proposals.
# - P. Izmailov et al., *Averaging weights leads to wider optima and better generalization* (2018), [arXiv:1803.05407](https://arxiv.org/abs/1803.05407).
# - A. Defazio et al., *The road less scheduled* (2024), [arXiv:2405.15682](https://arxiv.org/abs/2405.15682).
# - J. Gilmer et al., *A loss curvature perspective on training instability in deep learning* (2022), [arXiv:2110.04369](https://arxiv.org/abs/2110.04369).
# - D. S. Kalra and M. Barkeshli, *Why warmup the learning rate? Underlying mechanisms and improvements* (2024), [arXiv:2406.09405](https://arxiv.org/abs/2406.09405).
# - L. Liu et al., *On the variance of the adaptive learning rate and beyond* (2020), [arXiv:1908.03265](https://arxiv.org/abs/1908.03265).
# - J. Ma and D. Yarats, *On the adequacy of untuned warmup for adaptive optimization* (2021), [arXiv:1910.04209](https://arxiv.org/abs/1910.04209).
# - G. Yang et al., *Tensor programs V: tuning large neural networks via zero-shot hyperparameter transfer* (2022), [arXiv:2203.03466](https://arxiv.org/abs/2203.03466).
# - A. Kosson et al., *Weight decay may matter more than muP for learning rate transfer in practice* (2025), [arXiv:2510.19093](https://arxiv.org/abs/2510.19093).
# - S. Bergsma et al., *Straight to zero: why linearly decaying the learning rate to zero works best for LLMs* (2025), [arXiv:2502.15938](https://arxiv.org/abs/2502.15938).
# - A. Hägele et al., *Scaling laws and compute-optimal training beyond fixed training durations* (2024), [arXiv:2405.18392](https://arxiv.org/abs/2405.18392).
# - F. Schaipp et al., *The surprising agreement between convex optimization theory and learning-rate scheduling for large model training* (2025), [arXiv:2501.18965](https://arxiv.org/abs/2501.18965).
# - M. Welling and Y. W. Teh, *Bayesian learning via stochastic gradient Langevin dynamics*, ICML 2011.
