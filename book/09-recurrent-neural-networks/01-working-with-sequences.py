# ---
# jupyter:
#   d2l:
#     data: [sunspots, co2]
#     profiles:
#       gpu:
#         num_gpus: 1
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
# # 9.1 Working with sequences
#
# Until now the order of the examples did not matter, and we shuffled them.
# The next sunspot number, word or heartbeat depends on those before it.
# How does such a list become a supervised problem, how far ahead can a model see, and how do we find out without fooling ourselves?
#
# **You will**
#
# - turn a series into windows and labels, and fit an autoregression by least squares;
# - tell a forecast one step ahead from one $k$ steps ahead, and compute from the weights what a long forecast comes to;
# - estimate a Markov chain by counting, and factorize a probability in both directions of time;
# - judge forecasts of two real series by rolling origins, seasonal baselines and intervals.
#
# **Cost**: about 15 seconds on a CPU; two small files from a package of about 12 MB.

# %%
import csv
import math

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    DataModule, LinearRegression, Trainer)

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
num_gpus = 0  # 1: use an accelerator, if there is one

# %% [markdown]
# ## What a sequence is
#
# So far an example was one vector $\mathbf{x}\in\mathbb{R}^d$.
# A *sequence* is an ordered list $\mathbf{x}_1,\dots,\mathbf{x}_T$ of vectors $\mathbf{x}_t\in\mathbb{R}^d$ with *time steps* $t\in\mathbb{Z}^+$.
# Some data are one long sequence, such as the record of a sensor, from which we cut windows.
# Others are many sequences, each of its own length $T_i$: documents, stays in a hospital, prices of shares.
#
# Whole sequences may be independent and identically distributed; the steps inside one are not.
# What a doctor prescribes on day 10 depends on days 1 to 9.
# Nor need all steps have one distribution: the words that open a document are not those that close it.
# It is enough that whole sequences come from one fixed distribution.
#
# What do we want to know about a sequence?
# A fixed target, such as the sentiment of a review; a sequence for a fixed input, such as the caption of an image; or a sequence for a sequence.
# The last is *aligned* if each step has a label of its own, as in tagging words, and *unaligned* if not, as in translation.
# Without any labels we can still ask for the density $p(\mathbf{x}_1,\dots,\mathbf{x}_T)$: how probable is this sequence?
#
# ## Autoregressive models
#
# To forecast a price we want the distribution $P(x_t\mid x_{t-1},\dots,x_1)$, or at least its mean.
# A model that regresses a value on earlier values of the same series is called *autoregressive*.
# One difficulty is that the number of inputs grows with $t$.
# There are two remedies.
#
# (a) Keep a window of the last $\tau$ values, $x_{t-1},\dots,x_{t-\tau}$: an *autoregression of order* $\tau$, with a fixed number of inputs.
#
# (b) Keep a summary $\mathbf{h}_t\in\mathbb{R}^h$ of the past that is updated in each step,
#
# $$\mathbf{h}_t=g(\mathbf{h}_{t-1},x_{t-1}),\qquad \hat x_t\ \text{from}\ P(x_t\mid\mathbf{h}_t), \tag{9.1.1}$$
#
# where $g$ is some function, $\mathbf{h}_t$ is never observed, and $\hat x_t$ is the forecast.
# Such a model is *latent* autoregressive, and the networks of this chapter are of this kind.
#
# ![Left, arrows from three past values in a frame lead to the forecast of the next value; an older value outside the frame is forgotten. Right, a chain of boxes h, each fed by its predecessor and by one value, each emitting a forecast.](img/series-latent.svg)
#
# **Figure 9.1.1.** A window forgets what leaves it; a state may keep it.
#
# In both, the parameters are the same at every step.
# This assumes that the values change but the rule that produces them does not; such dynamics are called *stationary*.
#
# ## A noisy sine
#
# We begin with a series whose rule is known:
#
# $$x_t=\sin(0.01\,t)+\epsilon_t,\qquad \epsilon_t\sim\mathcal{N}(0,\,0.2^2),\qquad t=1,\dots,1000. \tag{9.1.2}$$
#
# The $\epsilon_t$ are independent, so even someone who knows the sine has a root mean squared error (RMSE) of 0.2.
# A window of $\tau=4$ values is one example, and the value after it its label.
# The first 600 examples are for training.
# The split is by time: a random split would put the neighbours of nearly every test value into the training set, and would ask for interpolation, not for a forecast.

# %% tags=["export"]
class SineSeries(DataModule):
    """A noisy sine, cut into windows of `tau` values and the next one.

    The series is x_t = sin(0.01 t) + noise for t = 1, ..., T. Row i of
    `features` (T - tau, tau) holds tau values in the order of time, row i
    of `labels` (T - tau, 1) the one after them. The first `num_train` rows
    are for training, the others for validation.
    """

    def __init__(self, batch_size=16, T=1000, num_train=600, tau=4,
                 noise=0.2, generator=None):
        super().__init__()
        self.save_hyperparameters()
        self.time = torch.arange(1.0, T + 1)
        self.x = (torch.sin(0.01 * self.time)
                  + noise * torch.randn(T, generator=generator))
        self.features = self.x.unfold(0, tau, 1)[:-1]  # (T - tau, tau)
        self.labels = self.x[tau:, None]  # (T - tau, 1)

    def get_dataloader(self, train):
        n = self.num_train
        rows = slice(0, n) if train else slice(n, None)
        return self.get_tensorloader((self.features, self.labels), train,
                                     rows)

# %%
# check 9.1-C1: windows in the order of time, each with the next value
data = SineSeries(generator=torch.Generator().manual_seed(0))
assert data.features.shape == (996, 4) and data.labels.shape == (996, 1)
for i in (0, 1, 600, 995):
    assert torch.equal(data.features[i], data.x[i:i + 4])
    assert data.labels[i, 0] == data.x[i + 4]

# %% tags=["hide-input"]
# check: the series is the one promised, split by time, shuffled, seeded
assert data.time[0] == 1 and data.time[-1] == 1000
assert data.time.dtype == data.x.dtype == torch.float32
still = SineSeries(noise=0.0, T=50, tau=3, num_train=20, batch_size=7)
assert still.features.shape == (47, 3)
assert torch.equal(still.x, torch.sin(0.01 * torch.arange(1.0, 51.0)))
noise_seen = data.x - torch.sin(0.01 * data.time)
assert abs(noise_seen.std() - 0.2) < 0.02 and abs(noise_seen.mean()) < 0.02
again = SineSeries(generator=torch.Generator().manual_seed(0))
assert torch.equal(data.x, again.x)
batches = list(still.get_dataloader(train=False))
assert [len(y) for _, y in batches] == [7, 7, 7, 6]
assert torch.equal(torch.cat([y for _, y in batches]), still.labels[20:])
still.generator = torch.Generator().manual_seed(1)
shuffled = torch.cat([y for _, y in still.get_dataloader(train=True)])
assert not torch.equal(shuffled, still.labels[:20])
assert torch.equal(shuffled.sort(dim=0).values, still.labels[:20])

# %% [markdown]
# ### One step ahead
#
# Linear regression with the trainer of chapter 3 fits it in five epochs.

# %%
torch.manual_seed(0)
model = LinearRegression(lr=0.01)
model.board.display = False
trainer = Trainer(max_epochs=5, num_gpus=num_gpus)
trainer.fit(model, data)
w_sgd, b_sgd = (p.cpu()[0] for p in model.get_w_b())  # (4,), scalar
print("weights", [round(v, 3) for v in w_sgd.tolist()],
      f"bias {b_sgd:.3f}")

# %% [markdown]
# A linear model needs no descent, since least squares has a closed form.
# It is exact and takes no learning rate, so from here on we use it, in double precision.
# The forecast of order $\tau$ is
#
# $$\hat x_t=\sum_{i=1}^{\tau}w_i\,x_{t-\tau-1+i}+b, \tag{9.1.3}$$
#
# with weights $\mathbf{w}\in\mathbb{R}^\tau$, that of the oldest value first, and bias $b\in\mathbb{R}$.

# %% tags=["export"]
def fit_ar_lstsq(x, tau):
    """Least-squares autoregression of order `tau` on the series x (T,).

    Returns the weights w (tau,), the oldest value's first, and the bias b,
    a scalar tensor: the forecast of x_t is
    w_1 x_{t - tau} + ... + w_tau x_{t - 1} + b.
    """
    windows = x.unfold(0, tau, 1)[:-1]  # (T - tau, tau)
    A = torch.cat((windows, torch.ones_like(windows[:, :1])), dim=1)
    solution = torch.linalg.lstsq(A, x[tau:, None]).solution[:, 0]
    return solution[:-1], solution[-1]

# %%
def sine(seed, noise=0.2):
    """The 1000 values of a noisy sine, in double precision."""
    rng = torch.Generator().manual_seed(seed)
    return SineSeries(noise=noise, generator=rng).x.double()


def rmse(x_hat, x):
    """Root mean squared error of forecasts of the same shape."""
    assert x_hat.shape == x.shape
    return ((x_hat - x) ** 2).mean().sqrt().item()


def linear(w, b):
    """A model that maps windows (n, tau) to forecasts (n, 1)."""
    return lambda windows: (windows @ w + b)[:, None]

# %% [markdown]
# An error says little without a baseline.
# *Persistence* repeats the last value, $\hat x_t=x_{t-1}$.

# %%
# check 9.1-C3: one step ahead, above the floor and below persistence
end = 604  # the training examples touch the values before this one
expected = {0: (0.2387, 0.3082), 1: (0.2327, 0.2903), 2: (0.2151, 0.2823)}
for seed, values in expected.items():
    x = sine(seed)
    w, b = fit_ar_lstsq(x[:end], 4)
    windows = x.unfold(0, 4, 1)[end - 4:-1]  # (396, 4)
    fitted = rmse(linear(w, b)(windows)[:, 0], x[end:])
    persistence = rmse(x[end - 1:-1], x[end:])
    print(f"RMSE {fitted:.3f}, persistence {persistence:.3f}")
    assert 0.2 < fitted < 0.83 * persistence
    assert abs(fitted - values[0]) + abs(persistence - values[1]) < 0.001
    if seed == 0:  # the series that gradient descent has seen
        descent = rmse(windows @ w_sgd.double() + b_sgd, x[end:])
        print(f"by gradient descent {descent:.3f}")
        assert abs(descent - fitted) < 0.002

# %% [markdown]
# The two ways of fitting agree.
# Both beat persistence and stay above the floor of 0.2, which four noisy values cannot reach: even if the sine stood still, the average of $\tau$ values would have an expected error of $\sigma\sqrt{1+1/\tau}$ with $\sigma=0.2$, here 0.224.

# %%
x = sine(0)
w, b = fit_ar_lstsq(x[:end], 4)
one_step = linear(w, b)(x.unfold(0, 4, 1)[:-1])[:, 0]  # (996,)
time = torch.arange(1, 1001)
ax = d2l.plot([time, time[4:]], [x, one_step], ["series", "one step ahead"],
              xlabel="time step", ylabel="x", fmts=("-", "-"))
ax.lines[0].set(alpha=0.45, linewidth=1)
ax.axvline(end, color="black", ls=":", lw=1)
d2l.describe(ax, """A noisy sine over 1000 steps, about one and a half
    periods, and forecasts one step ahead that follow it as a smoother
    curve. A dotted line at step 604 ends the training data.""")

# %% [markdown]
# **Figure 9.1.2.** The series and forecasts one step ahead, also beyond the end of the training data (dotted).
#
# ## Several steps ahead
#
# A forecast of the day after tomorrow has no value of tomorrow to use.
# It can use the forecast of tomorrow in its place: from $x_{601},\dots,x_{604}$ comes $\hat x_{605}$, from $x_{602},x_{603},x_{604},\hat x_{605}$ comes $\hat x_{606}$, and $\hat x_{609}$ rests on four forecasts and no data at all.
# The forecast $\hat x_{t+k}$ from values up to $x_t$ is called *$k$-step-ahead*.
# Two functions do this: `rollout` continues one history, and `k_step_predictions` forecasts every value of a series from data $k$ steps older.

# %% tags=["export"]
def rollout(w, b, history, steps):
    """Feed forecasts back: `steps` values after `history`, (steps,).

    `w` (tau,) and `b` are those of `fit_ar_lstsq`; `history` holds at least
    tau values, of which the last tau are used.
    """
    tau = len(w)
    values = list(history[-tau:])
    for _ in range(steps):
        values.append(torch.stack(values[-tau:]) @ w + b)
    return torch.stack(values[tau:])

# %%
@torch.no_grad()
def k_step_predictions(model, x, tau, k):
    """Forecasts of x[tau + k - 1:], each from data k steps before it.

    `model` maps windows (n, tau) to (n, 1); returns (T - tau - k + 1,).
    """
    windows = x.unfold(0, tau, 1)[:len(x) - tau - k + 1]
    for _ in range(k):
        windows = torch.cat((windows[:, 1:], model(windows)), dim=1)
    return windows[:, -1]

# %% tags=["hide-input"]
# check: both agree with (9.1.3) by hand, with each other, keep no graph
w_toy = torch.tensor([0.5, 2.0], dtype=f64)
b_toy, x_toy = torch.tensor(1.0, dtype=f64), torch.arange(6, dtype=f64)
assert rollout(w_toy, b_toy, x_toy, 2).tolist() == [13.0, 29.5]
toy = k_step_predictions(linear(w_toy, b_toy), x_toy, 2, 2)  # of x[3:]
by_hand = [rollout(w_toy, b_toy, x_toy[:i + 2], 2)[1].item()
           for i in range(3)]
assert toy.tolist() == by_hand and len(toy) == 3
exact = fit_ar_lstsq(torch.tensor([1.0, 3, 7, 15, 31], dtype=f64), 1)
torch.testing.assert_close(torch.cat((exact[0], exact[1][None])),
                           torch.tensor([2.0, 1.0], dtype=f64))
net = nn.Linear(2, 1).double()
assert not k_step_predictions(net, x_toy, 2, 1).requires_grad

# %% [markdown]
# Comparisons on this series use the same 396 targets, whatever $k$ and $\tau$.

# %%
# check 9.1-C4: the error grows with the number of steps
steps, errors = (1, 4, 16, 64), []
for seed in range(5):
    x = sine(seed)
    model = linear(*fit_ar_lstsq(x[:end], 4))
    errors.append([rmse(k_step_predictions(model, x, 4, k)[-396:], x[end:])
                   for k in steps])
mean_error = torch.tensor(errors).mean(dim=0)  # over 5 series
print({k: round(e, 3) for k, e in zip(steps, mean_error.tolist())})
assert (mean_error.diff() > 0.005).all()
expected = torch.tensor([0.228, 0.240, 0.274, 0.508])
assert (mean_error - expected).abs().max() < 0.004

# %% tags=["hide-input"]
x = sine(0)
model = linear(*fit_ar_lstsq(x[:end], 4))
_, axes = plt.subplots(2, 2, figsize=(7, 4), sharex=True, sharey=True)
for ax, k in zip(axes.flat, steps):
    x_hat = k_step_predictions(model, x, 4, k)
    ax.plot(time, x, lw=0.8, alpha=0.45)
    ax.plot(time[3 + k:], x_hat, "C1-", lw=1.5)
    ax.axvline(end, color="black", ls=":", lw=1)
    ax.set_title("1 step ahead" if k == 1 else f"{k} steps ahead")
axes[1, 0].set(xlabel="time step", ylabel="x")
axes[1, 1].set(xlabel="time step")
d2l.describe(axes, """Four panels with the noisy sine and forecasts 1, 4, 16
    and 64 steps ahead. The more steps, the smaller the amplitude of the
    forecasts, and the later they follow the sine.""")

# %% [markdown]
# **Figure 9.1.3.** With more steps the forecasts lag behind and lose amplitude.
#
# Must errors pile up?
# Suppose that each step adds an error $\bar\epsilon>0$ and passes on $c>0$ times the error of its inputs:
#
# $$\epsilon_k=\bar\epsilon+c\,\epsilon_{k-1}=\bar\epsilon\,\frac{1-c^k}{1-c}\quad(c\ne1), \tag{9.1.4}$$
#
# where $\epsilon_k$ is the error after $k$ steps and $\epsilon_0=0$.
# For $c>1$ it explodes, for $c=1$ it grows in proportion to $k$, for $c<1$ it stays below $\bar\epsilon/(1-c)$: with $\bar\epsilon=1$ and $c=0.5$ the errors are 1, 1.5, 1.75, and never reach 2.
# So it depends on the model, and for a linear one eigenvalues take the place of $c$.
#
# ## Where a long forecast ends
#
# Collect the last $\tau$ values in a vector $\mathbf{z}_t=(x_{t-\tau+1},\dots,x_t)^\top\in\mathbb{R}^\tau$.
# A step of the forecast shifts it and appends a new value, which is an affine map:
#
# $$\mathbf{z}_{t+1}=\mathbf{C}\,\mathbf{z}_t+b\,\mathbf{e}_\tau,\qquad \mathbf{C}=\begin{bmatrix}0&1&&\\&\ddots&\ddots&\\&&0&1\\ w_1&w_2&\cdots&w_\tau\end{bmatrix}. \tag{9.1.5}$$
#
# $\mathbf{C}\in\mathbb{R}^{\tau\times\tau}$ is the *companion matrix*, and $\mathbf{e}_\tau$ the last unit vector.
# After $k$ steps the history has been multiplied by $\mathbf{C}^k$, which goes to zero exactly when the *spectral radius* $\rho$, the largest modulus of an eigenvalue, is below 1.
# Then the forecast tends to the fixed point $x^*=b/(1-\sum_iw_i)$, whatever the history.

# %%
def companion_matrix(w):
    """The matrix (tau, tau) that moves a window one step ahead."""
    shift = torch.eye(len(w), dtype=w.dtype)[1:]  # (tau - 1, tau)
    return torch.cat((shift, w[None]))


def spectral_radius(w):
    return torch.linalg.eigvals(companion_matrix(w)).abs().max().item()

# %% [markdown]
# Without noise the sine satisfies $x_t=2\cos(0.01)\,x_{t-1}-x_{t-2}$ (Exercise 9.1-1), and two lags are enough.
# Then the eigenvalues are $e^{\pm0.01i}$, with modulus 1, and the forecast neither dies nor grows.

# %%
# check 9.1-C2: without noise two weights continue the sine
clean = torch.sin(0.01 * torch.arange(1, 1001, dtype=f64))
w, b = fit_ar_lstsq(clean[:end], 2)
assert abs(w[0] + 1) < 1e-8 and abs(w[1] - 2 * math.cos(0.01)) < 1e-8
assert rmse(rollout(w, b, clean[:end], 396), clean[end:]) < 1e-6
eigenvalues = torch.linalg.eigvals(companion_matrix(w))
torch.testing.assert_close(eigenvalues.abs(), torch.ones(2, dtype=f64))
assert abs(spectral_radius(torch.tensor([-0.25, 0.0])) - 0.5) < 1e-6
torch.testing.assert_close(eigenvalues.angle().abs().max().item(), 0.01,
                           rtol=1e-4, atol=0)
z = clean[end - 2:end]  # three steps by the matrix
for value in rollout(w, b, z, 3):
    z = companion_matrix(w) @ z + b * torch.tensor([0.0, 1.0], dtype=f64)
    torch.testing.assert_close(z[-1], value)

# %% [markdown]
# Now change one thing, the standard deviation of the noise; the random numbers remain the same.

# %%
# check 9.1-C5: the more noise, the smaller the spectral radius
ranges = {0.0: (0.998, 1.002), 0.1: (0.996, 0.9992), 0.2: (0.988, 0.9945),
          0.4: (0.955, 0.975)}
for noise, (low, high) in ranges.items():
    radii = []
    for seed in range(3):
        x = sine(seed, noise)
        w, b = fit_ar_lstsq(x[:end], 4)
        radii.append(spectral_radius(w))
        assert low < radii[-1] < high
        if noise == 0.2:
            last, fixed = rollout(w, b, x[:end], 396)[-1], b / (1 - w.sum())
            assert abs(last - fixed) < 0.03 and abs(fixed) < 0.15
    print(f"noise {noise}: spectral radius",
          ", ".join(f"{radius:.4f}" for radius in radii))

# %% tags=["hide-input"]
def draw(fig, tau, noise):
    x, start = sine(0, noise), 750
    w, b = fit_ar_lstsq(x[:end], int(tau))
    ax = fig.subplots()
    ax.plot(time, x, lw=0.8, alpha=0.45)
    ax.plot(time[start:], rollout(w, b, x[:start], 250), "C1",
            label="forecast")
    ax.axhline(b / (1 - w.sum()), color="black", ls="--", lw=1,
               label="fixed point")
    ax.set(xlabel="time step", ylabel="x", ylim=(-2, 2),
           title=f"spectral radius {spectral_radius(w):.3f}")
    ax.legend(loc="lower left", fontsize=8)


d2l.sliders(draw, """The noisy sine, and a forecast from step 750 without new
    data that falls from 1 towards the fixed point near zero, while the sine
    passes below it.""", figsize=(5.0, 2.8), tau=[1, 4, 64],
    noise=[0.0, 0.2, 0.4])

# %% [markdown]
# **Figure 9.1.4.** A forecast that feeds on itself from step 750 on, with weights fitted to the first 604 values.
# With a window of 4 and noise 0.2 it decays towards the fixed point (dashed); without noise it continues the sine.
#
# The error of a long forecast does not diverge here: the forecast tends to a constant, and the error to that of the constant.
# It need not do so from below.

# %%
# check 9.1-C5: out of phase is worse than constant, later they agree
for x in map(sine, range(5)):
    w, b = fit_ar_lstsq(x[:end], 4)
    constant = rmse((b / (1 - w.sum())).expand(396), x[end:])
    middle, late = (rmse(k_step_predictions(linear(w, b), x, 4, k)[-396:],
                         x[end:]) for k in (192, 512))
    print(f"192 steps {middle:.3f}, 512 steps {late:.3f}, "
          f"constant {constant:.3f}")
    assert middle > constant + 0.03 and abs(late - constant) < 0.01

# %% [markdown]
# Forecasts 192 steps ahead trail the sine by over a quarter of a period, and are worse than the constant on each of the five series.
#
# Why does noise shrink the spectral radius?
# It shrinks the sum of the weights.
# Suppose the signal hardly changes within a window.
# Then each input is $s+\epsilon_i$ with signal $s$ of variance $S$ and noise of variance $\sigma^2$, and the best linear forecast of $s$ weights all inputs alike, with
#
# $$\sum_{i=1}^\tau w_i=\frac{S}{S+\sigma^2/\tau}. \tag{9.1.6}$$
#
# For $S=0.5$, $\sigma=0.2$ and $\tau=4$ this is 0.98: the regression distrusts noisy inputs and pulls its forecast towards the mean.
# Statisticians call it *attenuation*.
# If the weights are positive, so is the eigenvalue of largest modulus, and near 1 it is about $1-(1-\sum_iw_i)/\ell$, with the mean lag $\ell=\sum_i(\tau+1-i)\,w_i$.
# With equal weights $\ell\approx2.5$, so a sum of 0.98 gives 0.992.
#
# Noise in the labels alone should do nothing of the kind, and that is the control.
# We take one lag, whose weight is at once the sum and the spectral radius.

# %%
def cross_weights(inputs, labels, tau):
    """Weights (tau,) that forecast `labels` from earlier `inputs`, (T,)."""
    windows = inputs.unfold(0, tau, 1)[:-1]
    A = torch.cat((windows, torch.ones_like(windows[:, :1])), dim=1)
    solution = torch.linalg.lstsq(A, labels[tau:, None]).solution
    return solution[:-1, 0]


S = clean[:end].var(correction=0)
formula = (S / (S + 0.2**2)).item()
weights = {"inputs": [], "labels": []}
for seed in range(20):
    x = sine(seed)[:end]
    weights["inputs"].append(cross_weights(x, clean[:end], 1))
    weights["labels"].append(cross_weights(clean[:end], x, 1))
found = {name: torch.cat(v) for name, v in weights.items()}  # (20,) each
standard_error = {name: v.std() / 20**0.5 for name, v in found.items()}
for (name, v), value in zip(found.items(), (formula, 1.0)):
    print(f"noise in the {name}: {v.mean():.4f} ± "
          f"{standard_error[name]:.4f}; expected {value:.4f}")

# %%
for name, value in (("inputs", formula), ("labels", 1.0)):
    gap = (found[name].mean() - value).abs()
    assert gap < 3 * standard_error[name] and standard_error[name] < 0.003
assert abs(S - 0.5194) < 2e-4 and len(found["inputs"]) == 20
for noise, tau in ((0.2, 1), (0.2, 2), (0.2, 4), (0.4, 8)):
    mean = torch.stack([fit_ar_lstsq(sine(s, noise)[:end], tau)[0].sum()
                        for s in range(5)]).mean()
    assert abs(mean - S / (S + noise**2 / tau)) < 0.004
for x in map(sine, range(5)):  # from the sum to the spectral radius
    w, _ = fit_ar_lstsq(x[:end], 4)
    lag = (w * torch.arange(4, 0, -1)).sum()
    assert (w > 0).all() and 2.1 < lag < 2.6
    assert abs(spectral_radius(w) - 1 + (1 - w.sum()) / lag) < 0.0005
two_lags = [cross_weights(clean[:end], sine(seed)[:end], 2)
            for seed in range(20)]  # noise in the labels alone
assert abs(torch.stack(two_lags).sum(dim=1).mean() - 1) < 0.007
assert sum(spectral_radius(w) > 1.1 for w in two_lags) >= 10

# %% [markdown]
# With 20 series for each, noise in the inputs gives the weight of (9.1.6) within the statistical error, noise in the labels gives 1.
# With two lags the control holds for the sum only: labels with noise leave two nearly equal inputs with badly determined weights, and the spectral radius scatters, often above 1.
#
# ### How long a window
#
# A longer window averages more of the noise away, as long as the signal hardly changes within it.
# We repeat the fit for windows from 1 to 64, on five series.

# %%
# check 9.1-C6: one step ahead soon has enough, 64 steps ahead does not
taus = (1, 2, 4, 8, 16, 32, 64)
sweep = torch.tensor([
    [[rmse(k_step_predictions(linear(*fit_ar_lstsq(x[:end], tau)), x, tau,
                              k)[-396:], x[end:]) for tau in taus]
     for k in (1, 64)] for x in map(sine, range(5))])  # (5, 2, 7)
mean = sweep.mean(dim=0)
expected = torch.tensor([
    [0.284, 0.248, 0.228, 0.219, 0.218, 0.219, 0.221],
    [0.667, 0.594, 0.508, 0.520, 0.546, 0.458, 0.258]])
assert (mean - expected).abs().max() < 0.006
assert (mean[0, :3].diff() < -0.015).all()
assert mean[0, 3:].max() - mean[0, 3:].min() < 0.004
assert (sweep[:, 1, 6] < 0.6 * sweep[:, 1, 2]).all()
assert (sweep[:, 1, 2:5].diff(dim=1) > 0.002).all()
floor = 0.2 * (1 + 1 / torch.tensor(taus[:4])).sqrt()  # of an average
assert (mean[0, :4] - floor).abs().max() < 0.01

# %% tags=["hide-input"]
_, ax = plt.subplots()
for i, (k, color, marker) in enumerate(((1, "C0", "o"), (64, "C1", "s"))):
    ax.plot(taus, mean[i], color=color, ls="-" if k == 1 else "--",
            label="one step ahead" if k == 1 else f"{k} steps ahead")
    ax.plot(taus, sweep[:, i].T, marker, color=color, ms=3.5)
ax.axhline(0.2, color="black", ls=":", lw=1, label="noise")
ax.set(xscale="log", xlabel="window (values)", ylabel="RMSE",
       ylim=(0.15, 0.75))
ax.set_xticks(taus, labels=[str(tau) for tau in taus])
ax.minorticks_off()
ax.legend(fontsize=8)
d2l.describe(ax, """RMSE against the window from 1 to 64. One step ahead it
    falls from 0.28 to 0.22 at window 8 and then stays. 64 steps ahead it
    falls from 0.67 to 0.51 at window 4, rises to 0.55 at window 16, and
    falls to 0.26 at window 64.""")

# %% [markdown]
# **Figure 9.1.5.** Error on the same 396 targets; dots are the five series.
#
# One step ahead next to nothing is gained beyond eight values.
# Sixty-four steps ahead the error even rises a little from 4 to 16 values on each series, but with a window of 64 it is about half as large: the answer depends on the horizon.
# It depends on the amount of data, too, since every lag is one more weight to estimate from 600 examples.
# With 8000 examples, 64 values beat eight one step ahead, too, on each of three series.

# %%
for seed in range(3):
    rng = torch.Generator().manual_seed(seed)
    x = SineSeries(T=10_000, generator=rng).x.double()
    short, long = (
        rmse(k_step_predictions(linear(*fit_ar_lstsq(x[:8004], tau)), x, tau,
                                1)[-1996:], x[8004:]) for tau in (8, 64))
    print(f"8000 examples: window 8 {short:.4f}, window 64 {long:.4f}")
    assert long < short - 0.003

# %% [markdown]
# How fast the gain of longer context falls off is a property of the data; [Section 9.3](03-language-models.ipynb) measures it for text.
#
# ### Feed back, or forecast directly
#
# There is an alternative to feeding forecasts back: regress $x_{t+k}$ on the window itself.
# Such a *direct* forecast needs a fit of its own for each $k$.

# %%
def direct_forecasts(x, tau, k):
    """The last 396 values, by least squares from windows k steps older."""
    windows = x.unfold(0, tau, 1)[:len(x) - tau - k + 1]
    A = torch.cat((windows, torch.ones_like(windows[:, :1])), dim=1)
    targets = x[tau + k - 1:, None]
    w = torch.linalg.lstsq(A[:-396], targets[:-396]).solution
    return (A[-396:] @ w)[:, 0]


direct = torch.tensor([
    [[rmse(direct_forecasts(x, tau, k), x[end:]) for tau in taus]
     for k in (1, 64)] for x in map(sine, range(5))])  # (5, 2, 7)
for tau, fed_back, at_once in zip(taus, mean[1], direct.mean(dim=0)[1]):
    print(f"64 steps, window {tau:2}: fed back {fed_back:.3f}, "
          f"direct {at_once:.3f}")
torch.testing.assert_close(direct[:, 0], sweep[:, 0])  # k = 1: the same
better = direct[:, 1] < sweep[:, 1]  # (5, 7)
assert better[:, [0, 4]].all() and not better[:, 2].any()
for x in map(sine, range(5)):  # with a window of 4, but 16 steps ahead
    model = linear(*fit_ar_lstsq(x[:end], 4))
    fed_back = rmse(k_step_predictions(model, x, 4, 16)[-396:], x[end:])
    assert rmse(direct_forecasts(x, 4, 16), x[end:]) < fed_back - 0.002

# %% [markdown]
# Sixty-four steps ahead, direct forecasts have less error with windows of 1 and of 16 on all five series, and more with a window of 4.
# Sixteen steps ahead they have less with a window of 4, too: which way is better depends on the window and on the horizon.
#
# ## Markov models and the order of time
#
# A window loses nothing if, given the last $\tau$ values, the older ones do not matter.
# This is the *Markov condition* of order $\tau$.
# It usually holds only approximately.
# Any joint probability can be factorized step by step,
#
# $$P(x_1,\dots,x_T)=P(x_1)\prod_{t=2}^{T}P(x_t\mid x_{t-1},\dots,x_1), \tag{9.1.7}$$
#
# and under the condition of first order each factor simplifies to $P(x_t\mid x_{t-1})$.
# If the $x_t$ are discrete, such a model is learned by counting pairs.
# The single most probable path can then be found by dynamic programming, without trying all of them.
#
# With words or characters for $x_t$, (9.1.7) is a *language model*, the subject of [Section 9.3](03-language-models.ipynb).
# It scores candidates ("which of these two transcripts is likelier?"), samples new text, and guides a search for the best one.
# Since tokens are discrete, each factor is a classifier over the vocabulary.
#
# The chain rule also works from right to left, $P(x_T)\prod_{t=T-1}^{1}P(x_t\mid x_{t+1},\dots,x_T)$, with the same result.
# For a stationary chain with transition matrix $\mathbf{P}$, $P_{ij}=P(x_{t+1}=j\mid x_t=i)$, and stationary distribution $\boldsymbol\pi$, Bayes' rule gives the reversed transitions:
#
# $$\tilde P_{ji}=P(x_t=i\mid x_{t+1}=j)=\frac{\pi_iP_{ij}}{\pi_j}. \tag{9.1.8}$$
#
# Three states are enough to watch it.

# %%
def simulate_markov(P, T, generator=None):
    """T states of a chain with transitions P (m, m), started in state 0."""
    cumulative = P.cumsum(dim=1).tolist()
    state, states = 0, [0]
    for u in torch.rand(T - 1, generator=generator).tolist():
        row = cumulative[state][:-1]  # what is above the last is in it
        state = sum(u >= threshold for threshold in row)
        states.append(state)
    return torch.tensor(states)


def count_transitions(states, m):
    """Relative frequencies (m, m) of the next state, row by row."""
    pairs = torch.bincount(m * states[:-1] + states[1:], minlength=m * m)
    counts = pairs.reshape(m, m)
    return counts / counts.sum(dim=1, keepdim=True)

# %%
# check 9.1-C7: counting finds P; both directions give one likelihood
P = torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.5, 0.4], [0.5, 0.0, 0.5]],
                 dtype=f64)
pi = torch.linalg.matrix_power(P, 200)[0]  # (3,)
P_back = (pi[:, None] * P / pi).mT  # (9.1.8)
chain = simulate_markov(P, 100_000, torch.Generator().manual_seed(1))
assert (count_transitions(chain, 3) - P).abs().max() < 0.02
assert (count_transitions(chain.flip(0), 3) - P_back).abs().max() < 0.02
print("forward\n", P, "\nbackward\n", P_back.round(decimals=3))
part = chain[:1000]
now, later = part[:-1], part[1:]
forward = pi[part[0]].log() + P[now, later].log().sum()
backward = pi[part[-1]].log() + P_back[later, now].log().sum()
assert abs(forward - backward) < 1e-8
assert P[2, 1] == 0 == P_back[1, 2] and P[1, 2] > 0.1 < P_back[2, 1]

# %% tags=["hide-input"]
# check: length, start, certain transitions; pi is stationary
ring = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
assert simulate_markov(ring, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
twice = [simulate_markov(P, 50, torch.Generator().manual_seed(1))
         for _ in range(2)]
assert torch.equal(*twice) and len(chain) == 100_000
torch.testing.assert_close(pi @ P, pi)
torch.testing.assert_close(P_back.sum(dim=1), torch.ones(3, dtype=f64))
assert abs(pi.sum() - 1) < 1e-12 and pi.min() > 0.1

# %% [markdown]
# The likelihoods agree, the matrices do not: forwards the chain steps from 1 to 2 and never from 2 to 1, backwards the other way round.
#
# Why then do we read from left to right?
# The probability of a prefix extends to the next token by one multiplication, at any length.
# Neighbours, and the order in which things were caused, are often easier to model: changing the present can alter the future, never the past.
# Hoyer and others (2009) showed that if $x_{t+1}=f(x_t)+\epsilon$ holds with a nonlinear $f$ and independent noise, then in general no such model holds backwards.
#
# ## Real series
#
# ### Sunspots
#
# The number of sunspots has been recorded for over three centuries.
# In 1927 Yule, among the first to use autoregressions, regressed each year's value on the two before it and found a strongly damped oscillation.
# We train on 220 years and test on the last 89.
# The baselines are the mean, persistence, and the value eleven years earlier; for a season of fixed length the last one is called *seasonal naive*.

# %%
def read_column(name, column):
    """One column of a data set's only file, nan where it is empty."""
    path, = d2l.fetch(name).files.values()
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return torch.tensor([float(row[column] or "nan") for row in rows],
                        dtype=f64)


real = all(d2l.fetch(name).is_real for name in ("sunspots", "co2"))
spots = read_column("sunspots", "SUNACTIVITY")  # (309,), from 1700 on
past, future = spots[:220], spots[220:]
orders = (1, 2, 3, 9, 20)
table = {("mean", k): rmse(past.mean().expand(89), future) for k in (1, 4)}
for k in (1, 4):
    table["persistence", k] = rmse(spots[220 - k:-k], future)
    table["eleven years ago", k] = rmse(spots[209:-11], future)
    for tau in orders:
        model = linear(*fit_ar_lstsq(past, tau))
        x_hat = k_step_predictions(model, spots, tau, k)[-89:]
        table[f"order {tau}", k] = rmse(x_hat, future)
for name in dict.fromkeys(name for name, _ in table):
    print(f"{name:17} 1 year {table[name, 1]:5.1f}, "
          f"4 years {table[name, 4]:5.1f}")

# %%
# check 9.1-C8: baselines and orders; order 2 is a damped cycle
w, b = fit_ar_lstsq(past, 2)
pair = torch.linalg.eigvals(companion_matrix(w))[0]
modulus, period = pair.abs().item(), 2 * math.pi / abs(pair.angle().item())
print(f"order 2: modulus {modulus:.2f}, period {period:.1f} years")
assert spots.shape == (309,) and 10 < period < 11.5
assert table["order 2", 1] < 0.8 * table["persistence", 1]
if real:
    names = ["mean", "persistence", *(f"order {tau}" for tau in orders)]
    one_year = [53.8, 30.4, 29.2, 20.4, 20.2, 17.3, 18.3]
    for name, value in zip(names, one_year, strict=True):
        assert abs(table[name, 1] - value) < 0.1
    assert abs(w[0] + 0.65) < 0.01 and abs(w[1] - 1.35) < 0.01
    assert abs(modulus - 0.81) < 0.01 and abs(period - 10.7) < 0.1
    assert abs(table["order 2", 4] - 49.3) < 0.1
    naive = table["eleven years ago", 4]
    assert 1.3 * naive < table["order 2", 4] < table["mean", 4]
    assert table["order 2", 4] < 0.6 * table["persistence", 4]
    assert abs(table["order 9", 4] / naive - 1) < 0.06
    assert abs(naive - 34.1) < 0.1 and abs(table["order 20", 4] - 35.3) < 0.1

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(7, 2.8))
years = torch.arange(1700, 2009)
ax.plot(years, spots, lw=1, alpha=0.6)
for tau, style in ((2, "C1-"), (9, "C3--")):
    w, b = fit_ar_lstsq(past, tau)
    ax.plot(years[220:], rollout(w, b, past, 89), style,
            label=f"order {tau}, from 1919")
ax.axvline(1919.5, color="black", ls=":", lw=1)
ax.set(xlabel="year", ylabel="sunspots", xlim=(1800, 2008), ylim=(-15, 230))
ax.legend(loc="upper left", ncols=2, fontsize=8)
d2l.describe(ax, """Sunspot numbers from 1800 on, with a cycle of about
    eleven years and changing height, and two forecasts from 1919 on that
    see no later data. That of order 2 swings twice and is then flat, that of
    order 9 swings for some six cycles of falling height.""")

# %% [markdown]
# **Figure 9.1.6.** Forecasts of 89 years from data up to 1919.
#
# Weights of about $(-0.65,\ 1.35)$ have a pair of complex eigenvalues with modulus 0.81: the forecast is a cycle of 10 to 11 years that loses a fifth of its height each year.
# On these 89 years, one year ahead, order 2 beats persistence by a third and order 9 is better still.
# Four years ahead, order 2 is hardly better than the mean and clearly worse than the value eleven years ago; order 9 is about as good as that one.
# Beside persistence alone, order 2 would have looked respectable.
#
# ### Carbon dioxide
#
# The second series is the concentration of carbon dioxide on Mauna Loa, weekly from 1958 to 2001, with a yearly season on a rising trend.
# We take 52 weeks for a year, which is a day and a quarter too short.
# Some weeks have no value.
# Interpolation would use the value *after* the gap, which nobody had at the time; we repeat the last one, and score only weeks with a measurement.
#
# A trend leads out of the range of all values seen, and not every model can follow.
# A *nearest-neighbour* forecast looks for the five windows most like the present one and averages their next values, so it can never exceed the largest value in its past.
# The remedy is to model the *differences* $x_t-x_{t-1}$ and add them up.
# For a linear autoregression of levels the eigenvalues decide.

# %%
def autoregression(past, tau, steps):
    return rollout(*fit_ar_lstsq(past, tau), past, steps)


def neighbours(past, tau, steps, k=5):
    """Each forecast is the mean of what followed the k nearest windows."""
    windows, following = past.unfold(0, tau, 1)[:-1], past[tau:]
    values = past[-tau:]
    for _ in range(steps):
        distance = ((windows - values[-tau:]) ** 2).sum(dim=1)
        ranked = distance.round(decimals=8).argsort(stable=True)
        nearest = ranked[:k]  # of equal distances the older first
        values = torch.cat((values, following[nearest].mean()[None]))
    return values[tau:]


def on_differences(method):
    """The same method, applied to the steps from value to value."""
    return lambda past, tau, steps: past[-1] + method(
        past.diff(), tau, steps).cumsum(dim=0)


def seasonal(past, tau, steps, growth=0.0):
    """Last year's values, plus `growth` times last year's rise each year."""
    rise = past[-tau:].mean() - past[-2 * tau:-tau].mean()
    year = torch.arange(steps) // tau  # 0 in the first year
    season = past[-tau:][torch.arange(steps) % tau]
    return season + growth * rise * (1 + year)

# %% tags=["hide-input"]
# check: each method by hand on a few values
jagged = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
assert neighbours(jagged, 1, 2, k=2).tolist() == [2.0, 0.0]
rising = torch.tensor([1.0, 2.0, 3.0, 4.0])
assert seasonal(rising, 2, 5).tolist() == [3.0, 4.0, 3.0, 4.0, 3.0]
assert seasonal(rising, 2, 4, growth=1.0).tolist() == [5.0, 6.0, 7.0, 8.0]
same_step = on_differences(lambda past, tau, steps: past[-1].expand(steps))
assert same_step(torch.tensor([1.0, 2.0, 4.0]), 1, 2).tolist() == [6.0, 8.0]

# %% [markdown]
# One forecast proves little.
# In an evaluation with a *rolling origin* the model is fitted on all data up to an origin, forecasts from there, and the origin moves on.
# Ours are 37 weeks apart, so they fall into all seasons; each forecast runs over 260 weeks.

# %%
raw = read_column("co2", "co2")  # (2284,), nan in some weeks
levels = raw.clone()
for t in levels.isnan().nonzero()[:, 0].tolist():
    levels[t] = levels[t - 1]  # in order, so that long gaps fill too
methods = {
    "persistence": (lambda past, tau, steps: past[-1].expand(steps), 1),
    "seasonal naive": (seasonal, 52),
    "seasonal + growth": (lambda *a: seasonal(*a, growth=1.0), 52),
    "neighbours, levels": (neighbours, 52),
    "neighbours, differences": (on_differences(neighbours), 52),
    "order 16, levels": (autoregression, 16),
    "order 16, differences": (on_differences(autoregression), 16),
    "order 52, levels": (autoregression, 52),
    "order 52, differences": (on_differences(autoregression), 52)}
origins = range(1000, 2000, 37)
missed = {name: torch.stack([
    method(levels[:t], tau, 260) - raw[t:t + 260] for t in origins])
    for name, (method, tau) in methods.items()}  # (origins, 260) each

# %%
def profile(errors):
    """RMSE (steps,) over the origins, weeks without a value left out."""
    return (errors**2).nanmean(dim=0).sqrt()


horizons = (1, 13, 26, 52, 104, 260)
print(f"{len(origins)} origins; RMSE in ppm after", *horizons,
      "weeks; bias of the fifth year")
for name, errors in missed.items():
    row = profile(errors)[[h - 1 for h in horizons]].tolist()
    print(f"{name:24}", *(f"{value:5.2f}" for value in row),
          f"{errors[:, -52:].nanmean():6.2f}")

# %% tags=["hide-input"]
# the sentences of the text about levels and differences
radius = {tau: [spectral_radius(fit_ar_lstsq(levels[:t], tau)[0])
                for t in origins] for tau in (16, 52)}
highest = torch.stack([levels[:t].max() for t in origins])  # (origins,)
forecast = missed["neighbours, levels"] + torch.stack(
    [raw[t:t + 260] for t in origins])  # nan where raw is
assert (forecast.nan_to_num(0) <= highest[:, None] + 1e-9).all()
above = missed["neighbours, differences"][:, -52:].nanmean()
assert above > missed["neighbours, levels"][:, -52:].nanmean() + 4
naive = missed["seasonal naive"]
assert naive[:, 5].nanmean() > naive[:, -1].nanmean() + 4
after = {name: profile(errors) for name, errors in missed.items()}
assert len(origins) == 28 and len(raw) == 2284
assert [len(rho) for rho in radius.values()] == [28, 28]
fixed_point, trend_root = [], []
for t in origins:
    w, b = fit_ar_lstsq(levels[:t], 16)
    fixed_point.append(b / (1 - w.sum()))
    w, b = fit_ar_lstsq(levels[:t], 52)
    roots = torch.linalg.eigvals(companion_matrix(w))
    trend_root.append(roots[roots.abs().argmax()])
outside = torch.stack(fixed_point) - highest
trend_root = torch.stack(trend_root)


def at(weeks):
    """RMSE of each method that many weeks ahead."""
    return {name: rows[weeks - 1].item() for name, rows in after.items()}

# %% tags=["hide-input"]
if real:
    assert raw.isnan().sum() == 59 and not levels.isnan().any()
    assert abs(raw[0] - 316.1) < 1e-9 and levels[6] == levels[5]
    assert max(radius[16]) < 1 < min(radius[52]) < max(radius[52]) < 1.002
    far = at(260)
    for method in ("neighbours", "order 16"):
        assert far[f"{method}, differences"] < 0.55 * far[f"{method}, levels"]
        assert missed[f"{method}, levels"][:, -52:].nanmean() < -5
    assert abs(far["neighbours, differences"] / 4.15 - 1) < 0.02
    assert abs(far["order 16, differences"] / 2.47 - 1) < 0.02
    assert abs(far["order 16, levels"] / 9.68 - 1) < 0.02
    assert 4 <= (outside > 0).sum() <= 6 and outside.max() > 5
    assert trend_root.imag.abs().max() == 0 and trend_root.real.min() > 1
    assert far["order 52, levels"] < far["order 52, differences"]
    assert abs(far["seasonal naive"] / far["neighbours, levels"] - 1) < 0.05
    half = at(26)
    assert half["seasonal naive"] < 0.7 * half["order 16, differences"]
    assert half["order 52, differences"] < 0.5 * half["seasonal naive"]
    year = at(52)
    assert year["seasonal + growth"] < 0.7 * year["order 16, differences"]
    assert abs(year["seasonal + growth"] - 0.93) < 0.02
    assert abs(year["order 52, levels"] - 0.81) < 0.02
    assert abs(year["order 52, differences"] - 0.83) < 0.02
    week = at(1)
    for twin in ("levels", "differences"):
        assert week[f"order 52, {twin}"] < 0.7 * week["seasonal + growth"]
    assert abs(half["persistence"] - 4.18) < 0.05
    assert abs(far["persistence"] - 7.92) < 0.05

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 3.2), width_ratios=[5, 4])
t = origins[14]
weeks = torch.arange(260)
axes[0].plot(torch.arange(-156, 260), raw[t - 156:t + 260], "k", lw=0.9)
axes[0].axvline(0, color="black", ls=":", lw=1)
shown = {"order 52, differences": "C3-", "order 16, levels": "C0--",
         "neighbours, levels": "C1:", "seasonal + growth": "C4-.",
         "seasonal naive": "C6-"}
for name, style in shown.items():
    if not name.startswith("seasonal"):
        axes[0].plot(weeks, missed[name][14] + raw[t:t + 260], style, lw=1.3)
    axes[1].plot(weeks + 1, after[name], style, lw=1.3, label=name)
axes[0].set(xlabel="weeks from the origin", ylabel="CO2 (ppm)")
axes[1].set(xlabel="weeks ahead", ylabel="RMSE (ppm)", ylim=(0, 11))
axes[1].legend(fontsize=7, loc="upper left")
d2l.describe(axes, """Left, three years of weekly values and the next five
    with forecasts: order 52 on differences follows season and trend, order
    16 on levels is soon flat while the series rises, and neighbours repeat
    old years. Right, RMSE against the horizon: order 16 and nearest neighbours
    on levels and the seasonal naive forecast grow to 8 to 10 ppm after five
    years, the seasonal forecast with growth and order 52 on differences to
    less than 3.""")

# %% [markdown]
# **Figure 9.1.7.** Left, one of the 28 origins (black: measured).
# Right, errors over all origins.
#
# After five years the nearest neighbours of levels are as wrong as the seasonal naive forecast: neither leaves the range of the past.
# Order 16 on levels has a spectral radius below 1 at every origin: its forecast tends to a constant, whatever the trend.
# On differences both follow the trend, and their errors after five years are about a half and a quarter of those on levels.
# But "levels cannot extrapolate" is no law: with 52 lags the model of levels has a real eigenvalue just above 1, continues the growth, exponentially in the end, and over these five years does no worse than its twin on differences.
# Nor does a radius below 1 keep a linear forecast within the range of the past: at about one in six origins the constant of order 16 lies above all values seen.
# What such a forecast cannot do is grow on; the neighbours of levels can do neither.
#
# The baselines are not easily beaten.
# Half a year ahead, both models of order 16 lose to the seasonal naive forecast; those of order 52, which see a whole year, do not.
# One week ahead order 52 is clearly better than season plus last year's growth; a year ahead they differ by about a tenth, from 28 overlapping stretches of one series, and we call no winner.
#
# ## Intervals instead of points
#
# A forecast without an error bar invites too much trust.
# *Split conformal prediction* puts one around any model.
# Keep $n$ values for calibration, sort the absolute errors $|x_t-\hat x_t|$ on them, and take as radius $q$ the one of rank $\lceil0.9\,(n+1)\rceil$, with $n=200$ the 181st.
# If the errors are exchangeable, that is, if every order of them is equally probable, and the model has not seen the calibration values, the next value lies in $\hat x\pm q$ with probability at least 0.9.
# The errors of a series are seldom quite exchangeable (ours share inputs with their neighbours), so we count.

# %%
def conformal_radius(errors, level=0.9):
    """The radius that covers a next error with probability `level`."""
    rank = math.ceil(level * (len(errors) + 1))
    return errors.abs().sort().values[rank - 1]


def coverage(x):
    """Share covered after 400 examples to fit and 200 to calibrate."""
    x_hat = k_step_predictions(linear(*fit_ar_lstsq(x[:404], 4)), x, 4, 1)
    errors = (x[4:] - x_hat).abs()  # (996,)
    return (errors[600:] <= conformal_radius(errors[400:600])).double().mean()


assert conformal_radius(torch.arange(-9.0, 0), 0.5) == 5
assert conformal_radius(torch.arange(1.0, 201)) == 181
same = torch.stack([coverage(sine(seed)) for seed in range(40)])
louder = torch.stack([
    coverage(torch.cat((sine(seed)[:end], sine(seed, 0.4)[end:])))
    for seed in range(40)])  # the noise doubles after the calibration
print(f"covered: {same.mean():.3f} (single series {same.min():.2f} to "
      f"{same.max():.2f}); with louder noise {louder.mean():.3f}")

# %%
# check 9.1-C8: intervals cover 90 % on average, unless the noise changes
assert abs(same.mean() - 0.9015) < 0.001 and 0.5 < louder.mean() < 0.7
assert 0.8 < same.min() < 0.88 < 0.93 < same.max() < 0.98
assert len(same) == len(louder) == 40

# %% [markdown]
# The average is close to 90 %; a single series may be off by several percentage points.
# The promise rests on exchangeability: when the noise doubles after the calibration, the intervals miss far more often than they say.
# Gibbs and Candès (2021) adapt the level online to such shifts.
#
# ## Today
#
# Begin with baselines, and count a linear model among them.
# In 2022 Zeng and others reported that models of one linear layer, from a window to all horizons directly, beat the forecasting Transformers of that time on nine data sets.
# Since then pretraining has come to series: Chronos and TimesFM learn from many series and forecast a new one *without training* on it.
# On data sets not seen in training, their authors report accuracies comparable or close to those of models trained there.
# TiRex, whose authors reported the best forecasts without training on two public benchmarks in 2025, is recurrent: an xLSTM, a relative of the networks of this chapter and the next.
# Whatever the model, the test remains: the future kept out, seasonal baselines, several origins, intervals.

# %% [markdown]
# ## Summary
#
# - Windows turn a series into a regression; the split is by time, and persistence and a seasonal baseline come before any model.
# - A $k$-step-ahead forecast feeds on its own outputs. Its errors need not diverge: below spectral radius 1 the forecast decays to a fixed point.
# - Noise in the inputs shrinks the sum of the weights, and the forecast with it; noise in the labels does not.
# - How long a window should be depends on the horizon and the amount of data; whether feeding back or a direct fit is better depends on window and horizon.
# - A probability can be factorized forwards or backwards in time with one result, but the two conditional distributions differ.
# - A model follows a trend only if its forecasts can leave the range of the past and go on growing; differences provide this. Intervals say how far to trust it, as long as errors keep their distribution.

# %% [markdown]
# ## Exercises
#
# ### Exercise 9.1-1
#
# Prove that $x_t=2\cos(\omega)\,x_{t-1}-x_{t-2}$ holds for every sine of angular frequency $\omega$, whatever its amplitude and phase, and test it.
# What becomes of the identity if a constant is added to the sine?

# %% [markdown]
# #### Solution 9.1-1

# %% [markdown]
# With $x_t=A\sin(\omega t+\varphi)$ and $\theta=\omega(t-1)+\varphi$, the sum $x_t+x_{t-2}=A\sin(\theta+\omega)+A\sin(\theta-\omega)$ equals $2A\sin\theta\cos\omega$ by the addition theorem.
# That is $2\cos(\omega)\,x_{t-1}$.
# For $y_t=x_t+c$, put $x_t=y_t-c$: the weights remain and a bias $b=2c\,(1-\cos\omega)$ appears.

# %%
t = torch.arange(200, dtype=f64)
for omega, A, phase, c in ((0.01, 1, 0, 0), (0.3, 2.5, 1, 0), (2, 3, -2, 7)):
    y = A * torch.sin(omega * t + phase) + c
    bias = 2 * c * (1 - math.cos(omega))
    torch.testing.assert_close(
        2 * math.cos(omega) * y[1:-1] - y[:-2] + bias, y[2:])
w, b = fit_ar_lstsq(y, 2)  # omega = 2, c = 7
assert abs(w[0] + 1) < 1e-8 and abs(w[1] - 2 * math.cos(2)) < 1e-8
assert abs(b - 14 * (1 - math.cos(2))) < 1e-8

# %% [markdown]
# ### Exercise 9.1-2
#
# How many lags does a forecast without error need, if a series without noise is a sum of $m$ sines of different frequencies between 0 and $\pi$?

# %% [markdown]
# #### Solution 9.1-2

# %% [markdown]
# Two for each sine.
# The shift operator $L$, $(Lx)_t=x_{t-1}$, turns the identity into $(1-2\cos(\omega)L+L^2)\,x=0$.
# The product of $m$ such factors annihilates the sum of the sines and has degree $2m$.
# Fewer lags do not suffice: the eigenvalues of the companion matrix must include $e^{\pm i\omega}$ for each frequency, which are $2m$ numbers.

# %%
t = torch.arange(400, dtype=f64)
frequencies = (0.3, 0.8, 1.7)
for m in (1, 2, 3):
    y = sum(torch.sin(omega * t + omega) for omega in frequencies[:m])
    fits = {tau: fit_ar_lstsq(y, tau) for tau in (2 * m - 1, 2 * m)}
    short, enough = (rmse(k_step_predictions(linear(*fit), y, tau, 1),
                          y[tau:]) for tau, fit in fits.items())
    print(f"{m} sines: RMSE with {2 * m - 1} lags {short:.3f}, "
          f"with {2 * m} below 1e-9: {enough < 1e-9}")
    assert short > 0.01 and enough < 1e-9
    angles = torch.linalg.eigvals(companion_matrix(fits[2 * m][0])).angle()
    torch.testing.assert_close(angles[angles > 0].sort().values,
                               torch.tensor(frequencies[:m], dtype=f64))

# %% [markdown]
# ### Exercise 9.1-3
#
# Add an exponentially averaged history, $m_t=(1-\alpha)\,m_{t-1}+\alpha\,x_t$, as a fifth feature to the four values of the window.
# Does it lower the one-step error of the noisy sine, and is one more ordinary lag as good?

# %% [markdown]
# #### Solution 9.1-3

# %% [markdown]
# The average is a state in the sense of (9.1.1), with a fixed $g$.
# We compare on ten series, on the same targets; $m_{t-1}$ is used to forecast $x_t$.

# %%
def averaged(x, alpha):
    """Exponential average m (T,), started at the first value."""
    m = [x[0]]
    for value in x[1:]:
        m.append((1 - alpha) * m[-1] + alpha * value)
    return torch.stack(m)


def test_error(A, y):
    """RMSE of least squares fitted to the first rows, on the last 396."""
    A = torch.cat((A, torch.ones_like(A[:, :1])), dim=1)
    w = torch.linalg.lstsq(A[:-396], y[:-396]).solution
    return rmse(A[-396:] @ w, y[-396:])


assert averaged(torch.tensor([1.0, 3.0, 3.0]), 0.5).tolist() == [1, 2, 2.5]
errors = {}
for x in map(sine, range(10)):
    A, y = x.unfold(0, 4, 1)[:-1], x[4:, None]  # (996, 4), (996, 1)
    errors.setdefault("window of 4", []).append(test_error(A, y))
    longer = x.unfold(0, 5, 1)[:-1]
    errors.setdefault("window of 5", []).append(test_error(longer, y[1:]))
    for alpha in (0.02, 0.1, 0.2):
        m = averaged(x, alpha)[3:-1, None]  # up to the value before y
        errors.setdefault(f"average, alpha {alpha}", []).append(
            test_error(torch.cat((A, m), dim=1), y))
means = {name: sum(e) / len(e) for name, e in errors.items()}
for name, mean in means.items():
    print(f"{name:19} {mean:.4f}")
plain, best = errors["window of 4"], errors["average, alpha 0.2"]
assert all(a > b + 0.005 for a, b in zip(plain, best, strict=True))
assert all(a > b for a, b in zip(errors["window of 5"], best))
assert means["window of 5"] > means["average, alpha 0.2"] + 0.005
assert means["window of 5"] < means["window of 4"] - 0.002
assert abs(means["average, alpha 0.02"] - means["window of 4"]) < 0.002
assert abs(means["window of 4"] - 0.2267) < 0.0004
assert abs(means["average, alpha 0.2"] - 0.2146) < 0.0005 and len(best) == 10

# %% [markdown]
# With $\alpha=0.2$ the error falls on each of the ten series, and more than by a fifth lag; with $\alpha=0.02$ the average lags far behind the sine, and the mean error does not fall.

# %% [markdown]
# ### Exercise 9.1-4
#
# Is a network better than the linear model, 16 steps ahead?
# Train both with equal steps, each with its best rate from one grid, on three seeds.

# %% [markdown]
# #### Solution 9.1-4

# %% [markdown]
# Both have a window of 4 and 400 steps of Adam, each on all of the first 500 training examples.
# The rate is chosen on the remaining 100, one step ahead, never on the test part.

# %% tags=["rtol=0.1"]
def trained(net, x, lr):
    """Train a net on windows of x[:504]; errors to choose by, to report."""
    A, y = x.unfold(0, 4, 1)[:-1], x[4:, None]
    optimizer = torch.optim.Adam(net.parameters(), lr)
    for _ in range(400):
        loss = ((net(A[:500]) - y[:500]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    choose = rmse(net(A[500:600]), y[500:600])
    x_hat = k_step_predictions(net, x, 4, 16)[-396:]
    return choose, rmse(x_hat, x[end:])


makers = {"linear": lambda: nn.Linear(4, 1),
          "MLP": lambda: nn.Sequential(nn.Linear(4, 10), nn.ReLU(),
                                       nn.Linear(10, 1))}
results = {name: [] for name in makers}
for seed in range(3):
    for name, make in makers.items():
        runs = []
        for lr in (0.003, 0.01, 0.03):
            torch.manual_seed(seed)
            runs.append(trained(make(), sine(seed).float(), lr))
        results[name].append(min(runs)[1])
    print(*(f"{name} {values[-1]:.3f}" for name, values in results.items()))

# %%
for seed in range(3):  # the trained linear model is near least squares
    w, b = fit_ar_lstsq(sine(seed)[:504], 4)
    x_hat = k_step_predictions(linear(w, b), sine(seed), 4, 16)[-396:]
    exact = rmse(x_hat, sine(seed)[end:])
    assert abs(results["linear"][seed] - exact) < 0.02
    assert results["linear"][seed] - 0.01 < results["MLP"][seed] < 0.45
assert results["MLP"][2] == sorted(runs)[0][1] and len(runs) == 3
net = nn.Linear(4, 1)  # chosen before step 604, reported after it
nn.init.zeros_(net.weight), nn.init.zeros_(net.bias)
x = sine(0).float()
chosen = trained(net, x, lr=0.0)
assert chosen == (rmse(0 * x[504:604], x[504:604]), rmse(0 * x[end:], x[end:]))

# %% [markdown]
# After these 400 steps the network shows no gain on any of the three series.
# Without noise the next value is a linear function of the past; a network has little to add, and more weights that can follow the noise.

# %% [markdown]
# ### Exercise 9.1-5
#
# An adviser shows the share that rose most among 100 during the last year, and you buy it.
# Let all prices be random walks: what do you gain in the next year?
# Repeat it 1000 times.
# What would you seem to gain if the year after were used in choosing?

# %% [markdown]
# #### Solution 9.1-5

# %% [markdown]
# The future of a random walk does not depend on its past, so the mean gain is zero, however good the past looks.
# The second question is *look-ahead*: choosing by both years, the "gain" of the second is large, and imaginary.

# %%
rng = torch.Generator().manual_seed(5)
months = torch.randn(1000, 100, 2, 12, generator=rng) / 12**0.5
gain = months.sum(dim=3)  # (repetitions, shares, years), variance 1
repetition = torch.arange(1000)
by_past = gain[repetition, gain[..., 0].argmax(dim=1)]  # (1000, 2)
by_both = gain[repetition, gain.sum(dim=2).argmax(dim=1)]
error = (by_past[:, 1].std() / 1000**0.5).item()
print(f"past {by_past[:, 0].mean():.2f}, future {by_past[:, 1].mean():.2f} "
      f"± {error:.2f}; chosen with the future {by_both[:, 1].mean():.2f}")
assert by_past[:, 1].mean().abs() < 3 * error < 0.12
assert by_past[:, 0].mean() > 2.3 and 1.5 < by_both[:, 1].mean() < 2

# %% [markdown]
# A fund that closes its losers and shows the survivors does the same with its own past.

# %% [markdown]
# ### Exercise 9.1-6
#
# A hidden state $s_t=\pm1$ changes sign with probability $p=0.01$ at each step, and we see $y_t=s_t+2\epsilon_t$ with standard normal noise $\epsilon_t$.
# Derive the filter, that is, the recursion for the probability of the state given *all* values so far.
# Compare its forecast of the next state with the best use of a window of $\tau$ values, and with linear regression on it.

# %% [markdown]
# #### Solution 9.1-6

# %% [markdown]
# Let $\ell_t$ be the logarithm of the odds of $s_t=+1$.
# The mean of $s_t$ is $\tanh(\ell_t/2)$, and that of $s_{t+1}$ is $q_t=(1-2p)\tanh(\ell_t/2)$, since a change of sign costs twice its probability.
# An observation with noise variance $\sigma^2$ adds $2y/\sigma^2$ to the log odds:
#
# $$\ell_{t+1}=\log\frac{1+q_t}{1-q_t}+\frac{2y_{t+1}}{\sigma^2}.$$
#
# This is a latent autoregressive model with a state of one number.
# The best forecast from a window is the same recursion, started with $\ell=0$ at its beginning.

# %%
def log_odds(y, p, sigma):
    """Filter along the last axis of y (..., T), from even odds."""
    state, history = torch.zeros_like(y[..., 0]), []
    for value in y.unbind(dim=-1):
        q = (1 - 2 * p) * torch.tanh(state / 2)
        state = ((1 + q) / (1 - q)).log() + 2 * value / sigma**2
        history.append(state)
    return torch.stack(history, dim=-1)


p, sigma, T = 0.01, 2.0, 20_000
rng = torch.Generator().manual_seed(6)
changes = torch.rand(T, generator=rng, dtype=f64) < p
s = 1.0 - 2 * (changes.cumsum(dim=0) % 2)  # (T,), +1 or -1
y = s + sigma * torch.randn(T, generator=rng, dtype=f64)
future_s = s[10_000:]
means = (1 - 2 * p) * torch.tanh(log_odds(y, p, sigma) / 2)
filtered = rmse(means[9_999:-1], future_s)

# %%
window_error, linear_error = {}, {}
for tau in (1, 4, 16, 32):
    windows = y.unfold(0, tau, 1)[10_000 - tau:-1]  # (10 000, tau)
    last = log_odds(windows, p, sigma)[:, -1]
    window_error[tau] = rmse((1 - 2 * p) * torch.tanh(last / 2), future_s)
    w, b = fit_ar_lstsq(y[:10_000], tau)
    linear_error[tau] = rmse(windows @ w + b, future_s)
    print(f"window {tau:2}: best {window_error[tau]:.3f}, "
          f"linear {linear_error[tau]:.3f}; filter {filtered:.3f}")
    assert filtered < window_error[tau] < linear_error[tau]
assert abs(filtered - 0.51945) < 0.0003
assert abs(window_error[16] - 0.5317) < 0.0003
assert abs(linear_error[32] - 0.6070) < 0.001
assert linear_error[32] > filtered + 0.08
assert window_error[32] < window_error[16] < window_error[4] - 0.1
two = log_odds(torch.tensor([1.0, -1.0], dtype=f64), 0.5, 2.0)
assert two.tolist() == [0.5, -0.5]  # at p = 1/2 the past says nothing

# %% [markdown]
# No window can beat the filter, since more data never raise the error of the best forecast.
# The gap is never exactly zero, as the filter depends on every value, but it shrinks quickly with $\tau$: old values are drowned by possible changes of sign.
# The linear regression stays behind at each of these lengths: the best forecast is not linear in the window.

# %% [markdown]
# ## Sources
#
# - G. U. Yule (1927). On a method of investigating periodicities in disturbed series, with special reference to Wolfer's sunspot numbers. Philosophical Transactions of the Royal Society A 226. [doi:10.1098/rsta.1927.0007](https://doi.org/10.1098/rsta.1927.0007).
# - P. O. Hoyer, D. Janzing, J. Mooij, J. Peters, B. Schölkopf (2009). Nonlinear causal discovery with additive noise models. Advances in Neural Information Processing Systems 21. [Paper](https://papers.nips.cc/paper/2008/hash/f7664060cc52bc6f3d620bcedc94a4b6-Abstract.html).
# - A. Zeng, M. Chen, L. Zhang, Q. Xu (2023). Are transformers effective for time series forecasting? AAAI 2023. [arXiv:2205.13504](https://arxiv.org/abs/2205.13504).
# - R. J. Hyndman, G. Athanasopoulos (2021). Forecasting: principles and practice, third edition, [section 5.10](https://otexts.com/fpp3/tscv.html): evaluation on a rolling origin.
# - J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani, L. Wasserman (2018). Distribution-free predictive inference for regression. Journal of the American Statistical Association 113. [arXiv:1604.04173](https://arxiv.org/abs/1604.04173): split conformal prediction.
# - I. Gibbs, E. Candès (2021). Adaptive conformal inference under distribution shift. [arXiv:2106.00170](https://arxiv.org/abs/2106.00170).
# - A. F. Ansari and others (2024). Chronos: learning the language of time series. [arXiv:2403.07815](https://arxiv.org/abs/2403.07815).
# - A. Das, W. Kong, R. Sen, Y. Zhou (2024). A decoder-only foundation model for time-series forecasting. [arXiv:2310.10688](https://arxiv.org/abs/2310.10688): TimesFM.
# - A. Auer and others (2025). TiRex: zero-shot forecasting across long and short horizons with enhanced in-context learning. [arXiv:2505.23719](https://arxiv.org/abs/2505.23719).
# - National Geophysical Data Center, NOAA: yearly sunspot numbers, 1700 to 2008.
# - C. D. Keeling, T. P. Whorf (2004). Atmospheric CO2 concentrations derived from flask air samples at sites in the SIO network. Carbon Dioxide Information Analysis Center: the weekly values.
