# ---
# jupyter:
#   d2l:
#     profiles:
#       gpu:
#         num_sets: 1000
#       smoke:
#         num_sets: 20
#     rehearsal:
#       num_sets: 0.1
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
# # 11.2 Attention pooling by similarity
#
# Attention needs no network.
# Take the training inputs as keys and the training targets as values, and weight each value by the similarity of its key to the query: the weighted mean is a prediction.
# Statisticians have used this method since 1964, and everything about it can be seen: the weights, the effect of their width, and the point at which a similarity chosen by hand is no longer good enough.
#
# **You will**
#
# - predict by Nadaraya-Watson regression, attention without parameters, for numbers and for classes;
# - separate the width of a kernel from its shape, and measure which of the two matters;
# - reproduce the Gaussian estimate with PyTorch's fused attention operator;
# - choose the width by leave-one-out, see where a fixed similarity fails, and learn a better one.
#
# **Cost**: about ten seconds on a CPU; no network is trained, nothing is downloaded.

# %%
import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import show_heatmaps

d2l.use_style()

# %% tags=["parameters"]
num_sets = 200  # data sets over which errors are averaged

# %% [markdown]
# ## Predict by looking up
#
# What is the value at a place where nothing was observed?
# Look at the observations nearby and average them; the nearer one is, the more it counts.
# In the terms of [Section 11.1](01-queries-keys-values.ipynb), the place is a query, the observed inputs are keys and the observed targets values.
#
# ![Five keys on a line with a value above each. A tent of height one and half-width one stands over the query 2.25; it gives the keys 1.5, 2 and 3 the similarities 0.25, 0.75 and 0.25, hence the weights 0.2, 0.6 and 0.2. The weighted mean of their values 3, 6 and 4 is 5.](img/pool-weights.svg)
#
# **Figure 11.2.1.** A prediction for the query 2.25.
# The tent measures similarity; divided by their sum, the similarities become weights.
#
# With a similarity $\alpha(\mathbf{q},\mathbf{k})\ge0$ the prediction is
#
# $$\hat f(\mathbf{q})=\sum_{i=1}^{m}\frac{\alpha(\mathbf{q},\mathbf{k}_i)}{\sum_{j=1}^{m}\alpha(\mathbf{q},\mathbf{k}_j)}\,\mathbf{v}_i, \tag{11.2.1}$$
#
# where $\mathbf{q}\in\mathbb{R}^d$ is the query, $\mathbf{k}_i\in\mathbb{R}^d$ the $i$-th of $m$ keys and $\mathbf{v}_i\in\mathbb{R}^v$ its value.
# For regression a value is a number ($v=1$); for classification it is a one-hot vector, and $\hat f(\mathbf{q})$ is a vector of class probabilities.
# The estimate is named after Nadaraya and Watson, who proposed it independently in 1964.
# Nothing is fitted: all the work happens at prediction time, when each query is compared with every key.

# %% tags=["export"]
def nadaraya_watson(x_train, y_train, x_query, kernel):
    """Predictions (Q,) or (Q, v), and weights (Q, N), without training.

    `kernel` maps the differences of queries and keys, (Q, N) for numbers
    and (Q, N, d) for vectors, to similarities (Q, N). A query to which
    no key is similar gets NaN.
    """
    weights = kernel(x_query[:, None] - x_train[None])
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights @ y_train, weights

# %% [markdown]
# The example of the figure, whose similarity is $\max(0,1-|q-k|)$:

# %%
keys = torch.tensor([0.5, 1.5, 2.0, 3.0, 4.5])
values = torch.tensor([1.0, 3.0, 6.0, 4.0, 5.0])
queries = torch.tensor([2.25, 0.5, 4.5])  # the last two are keys
y_hat, weights = nadaraya_watson(keys, values, queries,
                                 lambda u: (1 - u.abs()).clamp(min=0))
print("weights", [round(w, 2) for w in weights[0].tolist()],
      "prediction", round(y_hat[0].item(), 2))
torch.testing.assert_close(weights[0], torch.tensor([0, 0.2, 0.6, 0.2, 0]))
torch.testing.assert_close(y_hat, torch.tensor([5.0, 1.0, 5.0]))

# %% [markdown]
# Where does (11.2.1) come from?
# A *Parzen window* estimate of a density puts a small bump $K$ on every observation: $\hat p(x)=\frac1m\sum_iK(x-x_i)$ if $K$ integrates to 1 (Rosenblatt, 1956; Parzen, 1962).
# Estimate the joint density of $x$ and $y$ in this way, with a product of two symmetric bumps, and take the mean of $y$ given $x$: the bump in $y$ integrates away, and (11.2.1) remains.

# %% [markdown]
# ## Four kernels
#
# A similarity that depends only on the length $u=\|\mathbf{q}-\mathbf{k}\|$ of the difference is called a *kernel* here.
# Four of them are in common use:
#
# $$K(u)=\begin{cases}e^{-u^2/2}&\text{Gaussian}\\ 1\text{ if }u\le1\text{, else }0&\text{boxcar}\\ \max(0,1-u)&\text{triangular}\\ \tfrac34\max(0,1-u^2)&\text{Epanechnikov.}\end{cases} \tag{11.2.2}$$
#
# The constant kernel $K(u)=1$ completes the list; it looks at nothing.
# The last two of (11.2.2) are easily confused: the kernel that Epanechnikov (1969) recommended for densities is a parabola, not a tent.

# %%
def gaussian(u):
    return torch.exp(-u**2 / 2)


def boxcar(u):
    return (u.abs() <= 1).to(u.dtype)


def triangular(u):
    return (1 - u.abs()).clamp(min=0)


def epanechnikov(u):
    return 0.75 * (1 - u**2).clamp(min=0)


kernels = {"Gaussian": gaussian, "boxcar": boxcar,
           "triangular": triangular, "Epanechnikov": epanechnikov}

# %% [markdown]
# Constant factors cancel in (11.2.1), so it does not matter that two of the kernels integrate to 1 and the others do not.
# How wide a kernel is does matter.
# We measure it by the standard deviation of the density that is proportional to $K$.

# %%
grid = torch.linspace(-9, 9, 18_001, dtype=torch.float64)


def spread(kernel):
    """Standard deviation of the density proportional to `kernel`."""
    K = kernel(grid)
    return (torch.trapezoid(grid**2 * K, grid)
            / torch.trapezoid(K, grid)).sqrt().item()


areas = {name: torch.trapezoid(K(grid), grid) for name, K in kernels.items()}
for name, K in kernels.items():
    print(f"{name:12} integral {areas[name]:.3f}, "
          f"standard deviation {spread(K):.3f}")

# %%
# check 11.2-C5: integrals, and the standard deviations
expected = {"Gaussian": (2 * torch.pi)**0.5, "boxcar": 2,
            "triangular": 1, "Epanechnikov": 1}
variance = {"Gaussian": 1, "boxcar": 1 / 3, "triangular": 1 / 6,
            "Epanechnikov": 1 / 5}
for name, K in kernels.items():
    assert abs(areas[name] - expected[name]) < 2e-3
    assert abs(spread(K)**2 - variance[name]) < 2e-3
assert boxcar(torch.tensor([1.0, -1.0, 1.01])).tolist() == [1, 1, 0]

# %%
u = torch.linspace(-2.5, 2.5, 501)
ax = d2l.plot(u, [K(u) for K in kernels.values()], list(kernels),
              xlabel="difference $u$ of query and key",
              ylabel="similarity $K(u)$")
d2l.describe(ax, """The Gaussian is a bell that reaches beyond 2.5. The other
    three end at 1: the boxcar is flat at 1, the triangle a tent of height
    1, and Epanechnikov's a parabola of height three quarters.""")

# %% [markdown]
# **Figure 11.2.2.** The kernels of (11.2.2), of very different widths.
#
# Because a kernel sees only the length of a difference, it does not care where the data lie, nor how they are rotated.
# We test this on classes in the plane, with one-hot values: 60 keys around three centres.

# %%
def radial(kernel):
    """The kernel for differences (Q, N, d) of vectors."""
    return lambda u: kernel(torch.linalg.vector_norm(u, dim=-1))


rng = torch.Generator().manual_seed(2)
labels = torch.arange(3).repeat(40)
centres = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
points = centres[labels] + torch.randn(120, 2, generator=rng)
x_keys, x_new = points[:60], points[60:]
one_hot = F.one_hot(labels[:60], 3).float()  # (60, 3)
probs, _ = nadaraya_watson(x_keys, one_hot, x_new, radial(gaussian))
accuracy = (probs.argmax(dim=1) == labels[60:]).float().mean().item()
print(f"class probabilities {tuple(probs.shape)}, accuracy {accuracy:.2f}")

# %%
# check 11.2-C2: a common shift or rotation changes nothing
assert probs.shape == (60, 3) and 0.85 < accuracy < 0.92
torch.testing.assert_close(probs.sum(dim=1), torch.ones(60))
c, s = torch.cos(torch.tensor(0.7)), torch.sin(torch.tensor(0.7))
R = torch.stack((torch.stack((c, -s)), torch.stack((s, c))))
for K in (gaussian, epanechnikov):
    kernel = radial(lambda u, K=K: K(u / 8))  # wide: no query without keys
    base, _ = nadaraya_watson(x_keys, one_hot, x_new, kernel)
    for move in (lambda X: X + 3, lambda X: X @ R.mT):
        moved, _ = nadaraya_watson(move(x_keys), one_hot, move(x_new), kernel)
        torch.testing.assert_close(moved, base)
        only, _ = nadaraya_watson(x_keys, one_hot, move(x_new), kernel)
        assert (only - base).abs().max() > 0.02  # both must move
line = nadaraya_watson(keys, values, keys + 0.1, triangular)[0]
shifted = nadaraya_watson(keys + 3, values, keys + 3.1, triangular)[0]
torch.testing.assert_close(shifted, line)

# %% [markdown]
# ## A regression without training
#
# The data of this section are $y=f(x)+\epsilon$ with the true curve $f(x)=2\sin x+x$ and noise $\epsilon\sim\mathcal{N}(0,1)$ at 40 inputs drawn uniformly from $[0,5]$.
# There are 50 queries, $0, 0.1,\dots,4.9$.
# We compute in double precision, because some checks below are exact.

# %%
def f(x):
    return 2 * torch.sin(x) + x


def draw(shape, generator):
    """Sorted inputs in [0, 5] and noisy targets, both of this shape."""
    x = 5 * torch.rand(shape, generator=generator, dtype=torch.float64)
    x = x.sort(dim=-1).values
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x, f(x) + noise


x_train, y_train = draw((40,), torch.Generator().manual_seed(112))
x_query = torch.arange(0, 5, 0.1, dtype=torch.float64)  # (50,)
fits = {name: nadaraya_watson(x_train, y_train, x_query, K)
        for name, K in (kernels | {"constant": torch.ones_like}).items()}

# %%
# check 11.2-C1: rows of weights sum to 1; the constant kernel averages
for y_hat, weights in fits.values():
    assert weights.shape == (50, 40) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1),
                               torch.ones(50, dtype=torch.float64))
y_hat, weights = fits["constant"]
torch.testing.assert_close(y_hat, y_train.mean().expand(50))
assert (weights == 1 / 40).all()

# %% tags=["hide-input"]
# check: the data are what the text says
rng = torch.Generator().manual_seed(0)
x, y = draw((40_000,), rng)
noise = y - f(x)
assert x.min() > 0 and x.max() < 5 and abs(x.mean() - 2.5) < 0.03
assert abs(x.var() - 25 / 12) < 0.05  # of a uniform distribution
assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
assert abs(torch.corrcoef(torch.stack((x, noise)))[0, 1]) < 0.02
assert torch.equal(x_train, x_train.sort().values)
assert abs(f(torch.tensor(torch.pi / 2)) - 2 - torch.pi / 2) < 1e-6
assert len(x_query) == 50 and abs(x_query[-1] - 4.9) < 1e-9
drop = {name: (y_hat[21] - y_hat[42]).item() for name, (y_hat, _) in
        fits.items()}  # from the peak of f to its valley, where it is 1.37
assert drop["Gaussian"] < 0.5 < 0.8 < min(
    drop[name] for name in kernels if name != "Gaussian")
past, _ = nadaraya_watson(x_train, y_train, x_train,  # query minus key
                          lambda u: (u >= 0).double())
torch.testing.assert_close(past, y_train.cumsum(0) / torch.arange(1, 41))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(9.0, 2.6), sharey=True,
                         layout="constrained")
for ax, name in zip(axes, kernels):
    ax.plot(x_train, y_train, "o", ms=3, alpha=0.5, label="data")
    d2l.plot(x_query, [f(x_query), fits[name][0]], xlabel="$x$",
             fmts=("k:", "C1-"), title=name, ax=ax)
    ax.axhline(fits["constant"][0][0].item(), color="C2", lw=1, ls="-.")
axes[0].set_ylabel("$y$")
d2l.describe(axes, """Forty noisy points, the true curve dotted, and the
    estimate of each kernel. The Gaussian is smooth and too flat. The boxcar
    runs in steps; triangle and parabola follow the curve, with wiggles. A
    horizontal line marks the mean of all values.""")

# %% [markdown]
# **Figure 11.2.3.** Points: the data; dotted: the true curve; solid: the estimate; dash-dotted: the constant kernel, which returns the mean of all values everywhere.
#
# Without training, three of the kernels follow the curve except near its left end, while the Gaussian flattens it.
# The weights show why.

# %%
axes = show_heatmaps(torch.stack([fits[name][1] for name in kernels])[None],
                     xlabel="keys, sorted", ylabel="queries, sorted",
                     titles=list(kernels), figsize=(9.0, 3.0))
d2l.describe(axes, """Four matrices of weights, 50 queries by 40 keys. All
    are bands along the diagonal: that of the Gaussian is wide and pale, that
    of the triangle is narrow and dark.""")

# %% [markdown]
# **Figure 11.2.4.** The attention weights, shape (queries, keys), of the four fits.
#
# The pale band of the Gaussian mixes in keys from far away.
# But look at Figure 11.2.2 again: as written, the Gaussian is the widest kernel.
# Is its shape at fault, or its width?

# %% [markdown]
# ## Width, not shape
#
# To tell them apart we stretch each kernel to a given standard deviation, and judge by many data sets instead of one.
# `torch.vmap` turns `nadaraya_watson` into a function of all data sets at once.
# The measure is the mean squared error between the estimate and the *true* curve, over all queries.

# %%
many_x, many_y = draw((num_sets, 40), torch.Generator().manual_seed(0))
fit_all = torch.vmap(nadaraya_watson, in_dims=(0, 0, None, None))


def with_spread(kernel, sd):
    """`kernel` stretched to the standard deviation `sd`."""
    factor = spread(kernel) / sd
    return lambda u: kernel(factor * u)


def errors(kernel):
    """Mean squared error against the true curve, of each data set."""
    y_hat, _ = fit_all(many_x, many_y, x_query, kernel)
    return ((y_hat - f(x_query))**2).mean(dim=1)

# %%
as_defined = {name: errors(K).mean().item() for name, K in kernels.items()}
as_defined["constant"] = errors(torch.ones_like).mean().item()
by_width = {sd: errors(with_spread(gaussian, sd)).mean().item()
            for sd in (0.1, 0.2, 0.5, 1.0)}
print("as defined:", {k: f"{v:.3f}" for k, v in as_defined.items()})
print("Gaussian of width:", {k: f"{v:.3f}" for k, v in by_width.items()})

# %% [markdown]
# The first line says little about the shapes of the kernels, because it compares the widths 1, 0.58, 0.41 and 0.45.
# The second line moves only the width of the Gaussian, and the error changes almost as much as among the four kernels in the first: with 0.5 in place of 1 the seemingly bad kernel is close to the best ones.
#
# Now the control, all kernels at the same standard deviation.
# A narrow boxcar may contain no key at all, which gives $0/0$ (more on that below).
# Such a data set is left out for *all* kernels and widths, so they are always compared on the same data.

# %%
sds = [0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
table = torch.stack([torch.stack([errors(with_spread(K, sd)) for sd in sds])
                     for K in kernels.values()])  # (4, 11, num_sets)
complete = table.isfinite().all(dim=0).all(dim=0)  # (num_sets,)
curves = table[:, :, complete].mean(dim=2)  # (4, 11)
print(f"data sets compared: {complete.sum().item()} of {num_sets}")
for sd in (0.3, 0.4, 0.8):
    row = curves[:, sds.index(sd)]
    print(f"width {sd}:", dict(zip(kernels, [f"{v:.3f}" for v in row])))

# %%
# check 11.2-C6: width decides; at one width, shape hardly matters
full_run = num_sets >= 200
at = {sd: curves[:, sds.index(sd)] for sd in (0.3, 0.4, 0.8)}
smooth = torch.tensor([0, 2, 3])  # without the boxcar
if full_run:
    measured = dict(zip(as_defined, (0.464, 0.281, 0.185, 0.199, 0.900)))
    for name, value in measured.items():
        assert abs(as_defined[name] - value) < 0.02
    for sd, value in zip(by_width, (0.430, 0.235, 0.204, 0.464)):
        assert abs(by_width[sd] - value) < 0.03
    for row in (at[0.3], at[0.4]):
        assert row[smooth].max() - row[smooth].min() < 0.01
        assert 0.012 < row[1] - row[smooth].max() < 0.035  # the boxcar
    best, widest = curves[0].min(), curves[0, -1]
    assert widest > 2.3 * best and by_width[0.1] > 2.2 * best
    assert (at[0.8].sort().indices == torch.tensor([0, 2, 3, 1])).all()
    assert 0.85 * num_sets < complete.sum() < num_sets
    lowest_at = curves.argmin(dim=1)
    assert ((lowest_at >= 1) & (lowest_at <= 3)).all()  # 0.3 to 0.4
    assert (curves[0] - table[0].mean(dim=1)).abs().max() > 1e-4
same = table[0][:, complete]  # for the Gaussian too, the same data sets
torch.testing.assert_close(curves[0], same.mean(dim=1))
assert (curves[:, 4:].diff(dim=1) > 0).all()  # and rising from 0.45 on
assert abs(as_defined["Gaussian"] - by_width[1.0]) < 1e-9

# %% [markdown]
# At widths 0.3 and 0.4 the three continuous kernels agree to 0.01, and the boxcar is behind them by about 0.02, on the same data sets.
# A wrong width costs far more: Gaussians of width 0.1 and of width 1 more than double the error of the best one.
# Shape is not without effect, though: at 0.8, far above the best width, the four kernels differ clearly, the Gaussian having the smallest error and the boxcar the largest.
#
# Why is there a best width?
# For given keys the error, averaged over the noise, splits into two parts that can be computed exactly.
# With weights $w_i$ the estimate has the bias $\sum_iw_if(k_i)-f(q)$ and, as the noise has variance 1, the variance $\sum_iw_i^2$; the expected squared error is the squared bias plus the variance.

# %%
sds_long = torch.linspace(0.1, 1.0, 13).tolist()
parts = []
for sd in sds_long:
    kernel = with_spread(gaussian, sd)
    mean, weights = fit_all(many_x, f(many_x), x_query, kernel)
    bias2 = (mean - f(x_query)).square().mean()
    variance = weights.square().sum(dim=2).mean()
    parts.append((bias2, variance, errors(kernel).mean()))
bias2, variance, measured = torch.tensor(parts).T

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
d2l.plot(sds, list(curves), list(kernels), xlabel="standard deviation",
         ylabel="mean squared error", title="four kernels", ax=axes[0])
d2l.plot(sds_long, [bias2 + variance, bias2, variance],
         ["squared bias + variance", "squared bias", "variance"],
         xlabel=r"width $\sigma$", title="Gaussian", ax=axes[1])
axes[1].plot(sds_long, measured, "k.", ms=5, label="measured error")
axes[1].legend(loc="upper center")
for ax in axes:
    ax.set_ylim(0, 0.68)
d2l.describe(axes, """Left, four curves of the error over the standard
    deviation. All fall to a minimum between 0.3 and 0.4 and rise again;
    three nearly coincide up to the minimum, that of the boxcar lies above.
    Right, the error of the Gaussian: the squared bias rises with the width,
    the variance falls, and their sum goes through the measured errors.""")

# %% [markdown]
# **Figure 11.2.5.** Left: errors at equal standard deviation.
# Right: the error of the Gaussian kernel and its two parts.

# %%
# check: bias rises, variance falls, together they are the error
assert (bias2.diff() > 0).all() and (variance.diff() < 0).all()
gap = (bias2 + variance - measured).abs().max()
assert gap < (0.03 if full_run else 0.2)
low = int((bias2 + variance).argmin())
assert 0.25 < sds_long[low] < 0.45

# %% [markdown]
# A narrow kernel averages few noisy values: the estimate is rough, but local.
# A wide one averages many: it is smooth, but smooths the curve away as well.
# The slider lets you watch both, with the weights that cause them.

# %% tags=["hide-input"]
def show_width(fig, sigma):
    left, right = fig.subplots(1, 2, width_ratios=[1.3, 1])
    y_hat, weights = nadaraya_watson(x_train, y_train, x_query,
                                     with_spread(gaussian, sigma))
    left.plot(x_train, y_train, "o", ms=3, alpha=0.5)
    error = (y_hat - f(x_query)).square().mean().item()
    d2l.plot(x_query, [f(x_query), y_hat], xlabel="$x$", ylabel="$y$",
             fmts=("k:", "C1-"), title=f"error {error:.2f}", ax=left)
    left.set_ylim(-2.2, 7.2)
    right.imshow(weights, cmap="Reds", vmin=0, aspect="auto")
    right.grid(False)
    right.set(xlabel="keys", ylabel="queries", title="weights")


widths = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0]
d2l.sliders(show_width, """Left the data, the true curve dotted and the
    Gaussian estimate; right the weights. Small widths give a jagged estimate
    and a thin diagonal of weights, large ones a flat estimate and nearly
    equal weights.""", figsize=(6.4, 2.8), sigma=widths)

# %% tags=["hide-input"]
# check: the slider draws the estimate and the weights of its width
for sigma in (0.1, 1.0):
    fig = plt.figure()
    show_width(fig, sigma)
    y_hat, weights = nadaraya_watson(x_train, y_train, x_query,
                                     with_spread(gaussian, sigma))
    assert (fig.axes[0].lines[-1].get_ydata() == y_hat.numpy()).all()
    assert (fig.axes[1].images[0].get_array() == weights.numpy()).all()
    plt.close(fig)

# %% [markdown]
# **Figure 11.2.6.** The Gaussian estimate for a width $\sigma$ of your choice; each weight map has its own scale.
#
# More data allow a narrower kernel.
# If the targets have a finite variance, and the width tends to 0 while the number of keys per width still grows without bound, bias and variance vanish at each point where the curve and the density of the keys are continuous and the density is positive.
# The estimate is then *consistent*: it converges to the true value.
# Under stronger conditions on the width, the density and the noise it converges uniformly on a bounded interval (Mack and Silverman, 1982).
# With a fixed width the bias would stay.
# Exercise 11.2-4 measures how fast the best width shrinks.

# %% [markdown]
# ## From kernel to softmax
#
# A Gaussian of width $\sigma$ turns (11.2.1) into a softmax, since each similarity is the exponential of a score:
#
# $$\frac{e^{-(q-k_i)^2/2\sigma^2}}{\sum_je^{-(q-k_j)^2/2\sigma^2}}=\operatorname{softmax}_i\!\left(-\frac{(q-k_i)^2}{2\sigma^2}\right)=\operatorname{softmax}_i\!\left(\frac{qk_i-k_i^2/2}{\sigma^2}\right). \tag{11.2.3}$$
#
# The second step expands the square and drops $-q^2/2\sigma^2$, which is the same for all keys.
# The variance $\sigma^2$ is a temperature, as in Section 11.1.
# What remains is a dot product of the extended vectors $(q,1)/\sigma^2$ and $(k_i,-k_i^2/2)$.
# So PyTorch's fused attention operator, of which [Section 11.3](03-attention-scoring.ipynb) has more to say, computes Nadaraya-Watson regression without knowing it.

# %%
def gaussian_attention(x_train, y_train, x_query, sigma):
    """Nadaraya-Watson with a Gaussian of width sigma, by softmax."""
    scores = -(x_query[:, None] - x_train[None])**2 / (2 * sigma**2)
    weights = torch.softmax(scores, dim=1)
    return weights @ y_train, weights


sigma = 0.5
kernel_way = nadaraya_watson(x_train, y_train, x_query,
                             with_spread(gaussian, sigma))
softmax_way = gaussian_attention(x_train, y_train, x_query, sigma)
queries = torch.stack((x_query, torch.ones(50)), dim=1) / sigma**2  # (50, 2)
keys = torch.stack((x_train, -x_train**2 / 2), dim=1)  # (40, 2)
fused = F.scaled_dot_product_attention(
    queries[None], keys[None], y_train[None, :, None], scale=1)  # (1, 50, 1)
print(f"largest difference {(fused[0, :, 0] - kernel_way[0]).abs().max():.6f}")

# %%
# check 11.2-C3: kernel, softmax and fused operator agree
for ours, other in zip(kernel_way, softmax_way):
    torch.testing.assert_close(ours, other, rtol=0, atol=1e-9)
torch.testing.assert_close(fused[0, :, 0], kernel_way[0], rtol=0, atol=1e-5)
flat = F.scaled_dot_product_attention(
    queries[None, :, :1], keys[None, :, :1], y_train[None, :, None], scale=1)
assert (flat[0, :, 0] - kernel_way[0]).abs().max() > 1  # needs -k**2 / 2

# %% [markdown]
# The softmax also repairs a flaw of the literal formula.
# A kernel with compact support is 0 at every key if the query lies in a gap, and $0/0$ is NaN.
# The Gaussian is never 0 on paper, but in single precision $e^{-u^2/2}$ is 0 from $u=14.5$ on.
# A softmax subtracts the largest score first ([Section 4.5](../04-linear-classification/05-softmax-regression-concise.ipynb)), and the nearest keys keep their weight.

# %%
# check 11.2-C4: a gap gives 0/0; the softmax form survives it
x, y = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([1.0, 2.0, 6.0])
gap = torch.tensor([3.1, 1.0])  # the second query sits on a key
assert gaussian(torch.tensor(14.5)) == 0 < gaussian(torch.tensor(13.0))
at_three, _ = nadaraya_watson(x, y, torch.tensor([3.0]), boxcar)
assert at_three.isnan().all()  # 2 away from the nearest key
for kernel in (boxcar, triangular, with_spread(gaussian, 0.1)):
    y_hat, _ = nadaraya_watson(x, y, gap, kernel)
    assert y_hat.isnan().tolist() == [True, False]
y_hat, weights = gaussian_attention(x, y, gap, 0.1)
print("softmax:", y_hat.tolist(), " kernel:",
      nadaraya_watson(x, y, gap, with_spread(gaussian, 0.1))[0].tolist())
torch.testing.assert_close(y_hat, torch.tensor([6.0, 2.0]))

# %% [markdown]
# ## Choose the width
#
# In practice the true curve is unknown, so the width must come from the data.
# The training error will not do: among the keys is the query itself, at distance 0, and a narrow kernel gives it all the weight.
# *Leave-one-out* removes it.
# Each point is predicted from the other 39, which in terms of (11.2.3) means a score of $-\infty$ on the diagonal, the first *mask* of this chapter.
#
# ![Two matrices of weights, six queries by the same six keys. Left the diagonal has the largest weights. Right the diagonal is masked by minus infinity, and the weights go to the neighbours.](img/pool-leave-one-out.svg)
#
# **Figure 11.2.7.** Training error and leave-one-out differ in the diagonal of the scores.

# %%
def loo_bandwidth(x, y, sigmas):
    """The width among `sigmas` (s,) with the smallest leave-one-out error.

    Returns it with all errors (s,), for inputs and targets of shape (n,).
    """
    own = torch.eye(len(x), dtype=torch.bool)
    scores = -(x[:, None] - x[None])**2 / (2 * sigmas[:, None, None]**2)
    scores = scores.masked_fill(own, -torch.inf)  # (s, n, n)
    weights = torch.softmax(scores, dim=-1)
    errors = (y - weights @ y).square().mean(dim=1)  # (s,)
    return sigmas[errors.argmin()], errors

# %%
sigmas = torch.logspace(-1.3, 0.3, 25, dtype=torch.float64)
chosen, loo = loo_bandwidth(x_train, y_train, sigmas)
by_sigma = [gaussian_attention(x_train, y_train, torch.cat((x_train, x_query)),
                               s)[0] for s in sigmas]
fitted, between = torch.stack(by_sigma).split((40, 50), dim=1)
train = (fitted - y_train).square().mean(dim=1)  # (25,)
true = (between - f(x_query)).square().mean(dim=1)  # (25,)
ideal = sigmas[true.argmin()]
print(f"smallest training error at {sigmas[train.argmin()]:.2f}, "
      f"leave-one-out {chosen:.2f}, true error {ideal:.2f}")

# %%
ax = d2l.plot(sigmas, [train, loo, true],
              ["training error", "leave-one-out", "true error"],
              xlabel=r"width $\sigma$", ylabel="mean squared error",
              xscale="log")
ax.plot(chosen, loo.min(), "ko", mfc="none", ms=9)
d2l.describe(ax, """Errors over the width, on a logarithmic axis. The training
    error falls as the width shrinks. Leave-one-out has two shallow
    valleys, near 0.15 and 0.45, and a ring on the lower one. The error
    against the true curve has one minimum between them.""")

# %% [markdown]
# **Figure 11.2.8.** Three errors on the data of Figure 11.2.3.
# The first two are computed from noisy targets, the third from the true curve, hence its lower level.

# %%
# check 11.2-C7: the training error drives the width to 0, LOO does not
assert (train.diff() > 0).all() and train.argmin() == 0
tiny, _ = gaussian_attention(x_train, y_train, x_train, 1e-4)
torch.testing.assert_close(tiny, y_train)
assert 0 < loo.argmin() < len(sigmas) - 1
assert loo[0] > loo.min() + 0.1 and loo[-1] > loo.min() + 0.1
assert chosen == sigmas[loo.argmin()]
dips = (loo[1:-1] < loo[:-2]) & (loo[1:-1] < loo[2:])
valleys = sigmas[1:-1][dips]
assert len(valleys) == 2 and valleys[0] == chosen
assert valleys[0] < ideal < valleys[1]
assert 0.09 < true.min() < 0.13 < train[sigmas == chosen].item()

# %% tags=["hide-input"]
# check: leave-one-out is what it says, and has the shortcut of (3.6.12)
for s, error in zip(sigmas[::6], loo[::6]):
    left_out = []
    for i in range(40):
        others = torch.arange(40) != i
        y_i, _ = gaussian_attention(x_train[others], y_train[others],
                                    x_train[i:i + 1], s)
        left_out.append((y_train[i] - y_i).square())
    torch.testing.assert_close(torch.cat(left_out).mean(), error)
y_hat, weights = gaussian_attention(x_train, y_train, x_train, sigmas[15])
shortcut = (y_train - y_hat) / (1 - weights.diagonal())
torch.testing.assert_close(shortcut.square().mean(), loo[15])

# %% [markdown]
# On these data the training error falls with every narrower width of the grid; in the limit of width 0 each point predicts itself, and nothing is left of the error.
# Leave-one-out has its minimum inside the grid.
# (As for the linear smoothers of [Section 3.6](../03-linear-regression/06-generalization.ipynb), it needs no second pass: the error at point $i$ without its own key is the ordinary one divided by $1-w_{ii}$.)
# With 40 noisy points it is no precise instrument, though: here the curve has two valleys, and the true error is smallest between them.
# How good are its choices over all our data sets?

# %%
picks = torch.stack([loo_bandwidth(x, y, sigmas)[0]
                     for x, y in zip(many_x, many_y)])
fit_softmax = torch.vmap(gaussian_attention, in_dims=(0, 0, None, None))
true = torch.stack([(fit_softmax(many_x, many_y, x_query, s)[0] - f(x_query))
                    .square().mean(dim=1) for s in sigmas])  # (25, num_sets)
column = torch.searchsorted(sigmas, picks)  # where in `sigmas`
by_loo = true[column, torch.arange(num_sets)]
fixed = true.mean(dim=1)  # (25,) one width for all data sets
own_best = true.min(dim=0).values.mean()
low, middle, high = picks.quantile(torch.tensor([0.1, 0.5, 0.9]).double())
print(f"chosen widths: median {middle:.2f}, 80 % in {low:.2f} to {high:.2f}")
print(f"true error: {by_loo.mean():.3f} with the chosen widths, "
      f"{fixed.min():.3f} with the best common one, "
      f"{own_best:.3f} with each set's best")

# %%
# check: above the best common width, below narrow and wide ones
inside = (column > 0) & (column < len(sigmas) - 1)
assert torch.equal(sigmas[column], picks)
assert ((low <= picks) & (picks <= high)).double().mean() > 0.79  # 80 %
if full_run:
    assert inside.double().mean() > 0.9
    assert 0.28 < middle < 0.45 and low < 0.25 and high > 0.45
    assert 1.15 < by_loo.mean() / fixed.min() < 1.45
    assert 2 < high / low < 4.5
    assert by_loo.mean() < 0.62 * min(by_width[0.1], by_width[1.0])
    assert 0.8 * fixed.min() < own_best < 0.97 * fixed.min()

# %% [markdown]
# Over these data sets of 40 points, leave-one-out chooses widths around the best common one.
# They scatter, most of them within a factor of about three, and the error is roughly 30 % larger than with the best common width, which nobody knows in practice.
# That is still little more than half of what a careless choice of 0.1 or 1 costs.

# %% [markdown]
# ## Where a fixed similarity ends
#
# Two weaknesses remain at any width.
#
# The first is *boundary bias*.
# At the left end all neighbours lie on the right, where the curve is higher, so the mean is too large.
# The average estimate from noise-free values shows it, together with the flattened peak:

# %%
mean_fit = fit_softmax(many_x, f(many_x), x_query, 0.5)[0].mean(dim=0)
bias = mean_fit - f(x_query)
ax = d2l.plot(x_query, [f(x_query), mean_fit],
              ["true curve", r"mean estimate, $\sigma=0.5$"],
              xlabel="$x$", ylabel="$y$")
d2l.describe(ax, """The true curve rises from 0 to a peak near 2, falls to a
    valley near 4 and rises again. The mean estimate starts above 1 and
    cuts off the peak and the valley.""")
assert bias[0] > 0.8 and bias[-1] < -0.1  # the curve rises at both ends
assert bias[21] < -0.1 and bias[42] > 0.1  # its maximum and its minimum
assert bias[0] > 3 * bias[5:].abs().max()

# %% [markdown]
# **Figure 11.2.9.** The estimate without noise, averaged over the keys of all data sets.
# The distance between the two curves is the bias; it is largest at the left end.
#
# A straight line fitted with the same weights removes most of this bias; it costs variance, but with each method at its best width the line has the smaller error here (Exercise 11.2-5).
#
# The second weakness is deeper.
# A distance treats all features alike, whether they matter or not.
# We add features that are pure noise, uniform on $[0,5]$ like the first, and give each case the best width of a grid:

# %%
def factor_risk(factors, X, Y, Q):
    """Mean squared error (sets,), width 1, after scaling the features."""
    scores = -torch.cdist(factors * Q, factors * X)**2 / 2  # (sets, n, m)
    y_hat = (torch.softmax(scores, dim=2) @ Y[..., None])[..., 0]
    return (y_hat - f(Q[..., 0])).square().mean(dim=1)


def lowest_risk(X, Y, Q):
    """Smallest mean error of a common width, and that width."""
    risk = torch.stack([factor_risk(1 / s, X, Y, Q).mean() for s in wide])
    return risk.min().item(), wide[risk.argmin()]


rng = torch.Generator().manual_seed(3)
wide = torch.logspace(-0.8, 0.6, 22).tolist()
lowest, where, mean_risk, samples = [], [], [], {}
for extra in (0, 1, 2, 4):
    X, Q = (5 * torch.rand(num_sets, n, 1 + extra, generator=rng)
            for n in (40, 50))
    Y = f(X[..., 0]) + torch.randn(num_sets, 40, generator=rng)
    samples[extra] = X, Y, Q
    risk, width = lowest_risk(X, Y, Q)
    lowest, where = [*lowest, risk], [*where, width]
    mean_risk.append(factor_risk(0, X, Y, Q).mean().item())  # the constant
    print(f"{extra} irrelevant features: error {risk:.2f} at width "
          f"{width:.2f}, of the constant mean {mean_risk[-1]:.2f}")

# %%
assert all(wide[0] < width < wide[-1] for width in where)  # inside the grid
assert lowest[1] > 1.5 * lowest[0] and lowest[2] > lowest[1]
X, Y, Q = samples[4]
torch.testing.assert_close(
    ((Y.mean(dim=1, keepdim=True) - f(Q[..., 0]))**2).mean().item(),
    mean_risk[3], rtol=1e-4, atol=0)
if full_run:
    assert lowest[1] > 2.1 * lowest[0]
    assert abs(lowest[0] - 0.167) < 0.03 and lowest[3] > lowest[2] + 0.1
    assert 0.9 < lowest[3] / mean_risk[3] < 0.98
    assert abs(where[3] - 1.85) < 0.2

# %% [markdown]
# One useless feature more than doubles the error, and with four of them the estimate is less than a tenth better than the constant mean, though the answer still depends on the first feature alone.
# A similarity that gave the others the weight 0 would return to the first line.
# No width can do that, but a factor for each feature, applied to queries and keys alike, can.
# And the factors can be *learned*, by gradient descent on the leave-one-out error.
# The scores are those of (11.2.3): $\mathbf{q}^\top\mathbf{k}-\|\mathbf{k}\|^2/2$, with the factors in $\mathbf{q}$ and $\mathbf{k}$.
# The control learns a single factor, that is, a width, with the same data, optimizer and number of steps.

# %%
def learn_factors(X, Y, count, steps=100):
    """Factors (sets, 1, count) for the features of X (sets, m, d).

    `count` is d, or 1 for one factor shared by all features.
    """
    log_factors = torch.zeros(len(X), 1, count, requires_grad=True)
    optimizer = torch.optim.Adam([log_factors], lr=0.1)
    own = torch.eye(X.shape[1], dtype=torch.bool)
    for _ in range(steps):
        K = log_factors.exp() * X
        scores = K @ K.mT - K.square().sum(dim=2)[:, None] / 2  # (sets, m, m)
        weights = torch.softmax(scores.masked_fill(own, -torch.inf), dim=2)
        loss = ((weights @ Y[..., None])[..., 0] - Y).square().mean(dim=1)
        optimizer.zero_grad()
        loss.sum().backward()  # each data set has its own factors
        optimizer.step()
    return log_factors.detach().exp()

# %% tags=["rtol=0.05"]
learned = {}
for extra in (2, 4):
    X, Y, Q = samples[extra]
    for count in (1, 1 + extra):
        factors = learn_factors(X, Y, count)
        risk = factor_risk(factors, X, Y, Q)  # (num_sets,)
        learned[extra, count > 1] = risk, factors.median(dim=0).values[0]
        print(f"{extra} irrelevant features: error {risk.mean():.2f}, median",
              "factors" if count > 1 else "of the shared factor",
              [round(v, 2) for v in learned[extra, count > 1][1].tolist()])

# %%
for extra in (2, 4):
    (shared, _), (own, factors) = learned[extra, False], learned[extra, True]
    assert own.mean() < shared.mean() and (own < shared).float().mean() > 0.6
    assert factors[0] > 5 * factors[1:].max()  # the first feature counts
    if full_run:
        ratio = own.mean() / shared.mean()
        assert (0.4 if extra == 2 else 0.55) < ratio < (
            0.65 if extra == 2 else 0.95)
        assert abs(shared.mean() / lowest[2 if extra == 2 else 3] - 1) < 0.25
        assert own.mean() > 1.6 * lowest[0]
if full_run:
    assert 0.95 < learned[4, False][0].mean() / mean_risk[3] < 1.07
X, Y, _ = samples[2]  # and no data set hears of the others
alone = learn_factors(X[:1], Y[:1], 3, steps=9)
among = learn_factors(X, Y, 3, steps=9)
torch.testing.assert_close(alone[0], among[0])
assert not torch.allclose(among[0], among[1]) and not among.requires_grad

# %% tags=["hide-input", "rtol=0.05"]
ax = d2l.plot([0, 1, 2, 4], [lowest, mean_risk],
              ["best common width", "constant mean"],
              xlabel="irrelevant features", ylabel="mean squared error",
              fmts=("o-", "k:"), ylim=(0, 1))
for own, mark, name in ((False, "s", "learned, one factor"),
                        (True, "D", "learned, a factor per feature")):
    ax.plot([2, 4], [learned[n, own][0].mean().item() for n in (2, 4)],
            mark, label=name)
ax.set_xticks([0, 1, 2, 4])
ax.legend(loc="lower right", fontsize=8)
d2l.describe(ax, """The error with the best common width rises with the number
    of irrelevant features from below 0.2 to nearly 0.8, close to the
    line of the constant mean above 0.8. One learned factor lies above
    that curve, learned factors for each feature well below it.""")

# %% [markdown]
# **Figure 11.2.10.** Irrelevant features spoil a fixed similarity; learned factors win back a part.
#
# In both settings a factor for each feature beats the shared one in the mean and on most data sets, and the median factor of the first feature is many times larger than the others.
# With four irrelevant features the learned single factor does no better than the constant mean.
#
# Even with their own factors the errors stay well above that of the relevant feature alone.
# Is that the fault of the descent, or of the few noisy points?
# We lengthen the one and multiply the other.

# %% tags=["rtol=0.05"]
X, Y, Q = samples[4]
longer = factor_risk(learn_factors(X, Y, 5, steps=400), X, Y, Q).mean().item()
print(f"40 keys: error {learned[4, True][0].mean():.2f} after 100 steps, "
      f"{longer:.2f} after 400")
rng = torch.Generator().manual_seed(7)
X, Q = (5 * torch.rand(max(10, num_sets // 4), n, 5, generator=rng)
        for n in (160, 50))
Y = f(X[..., 0]) + torch.randn(X.shape[:2], generator=rng)
more = {count: factor_risk(learn_factors(X, Y, count), X, Y, Q).mean().item()
        for count in (1, 5)}
alone, width = lowest_risk(X[..., :1], Y, Q[..., :1])
assert wide[0] < width < wide[-1]
print(f"160 keys: error {more[1]:.2f} with one factor, {more[5]:.2f} with "
      f"five, {alone:.2f} from the relevant feature alone")

# %%
assert more[5] < 0.3 * more[1] and alone < more[5] < 4 * alone
if full_run:
    assert longer > 0.95 * learned[4, True][0].mean()
    assert abs(longer - learned[4, True][0].mean()) > 1e-3  # it did go on
    assert more[5] < 0.27 * more[1] and 1.4 < more[5] / alone < 2.6

# %% [markdown]
# Four times as many steps do not lower the error, but four times as many keys do: with 160 of them the learned factors leave about twice the error of the relevant feature alone at its best width, while a shared factor is still spoiled by the other four.
#
# A learned similarity is the step to the rest of the chapter, where queries and keys are computed by trained layers.
# Lowe (1995) optimized the metric of a kernel classifier together with its width.
# Neighbourhood components analysis (Goldberger and others, 2004) learned a linear map of the inputs such that the softmax of negative squared distances, with each point itself left out, predicts the classes.
# Tsai and others (2019) read the attention of Transformers as a kernel smoother of this kind.
# The older form is not obsolete either: with a deep network for the map, it was reported to be on a par with the boosted trees of CatBoost in a comparison on 300 tabular data sets (Ye and others, 2024).

# %% [markdown]
# ## Summary
#
# - Nadaraya-Watson regression is attention with a fixed similarity: keys are training inputs, values are targets, and nothing is trained.
# - Compared at equal standard deviation near the best width, continuous kernels hardly differ; a wrong width can more than double the error.
# - A narrow kernel trades bias for variance; with more data the best width shrinks.
# - The Gaussian kernel is a softmax of negative squared distances, which a dot product of extended vectors computes; the softmax form also survives gaps in which compact kernels give $0/0$.
# - The training error is smallest in the limit of width 0, where each point predicts itself; masking each point's own key gives a usable, if noisy, choice.
# - Bias at boundaries and irrelevant features are beyond what a width can mend; learned factors for the features repaired part of the latter from 40 keys and most of it from 160, the first step to learned queries and keys.

# %% [markdown]
# ## Exercises
#
# ### Exercise 11.2-1
#
# A Parzen classifier estimates the density of each of two classes, weights it by the share of the class, and answers with the sign of the difference.
# Show that this is Nadaraya-Watson regression with the values $\pm1$.
# What happens if the shares are forgotten?

# %% [markdown]
# #### Solution 11.2-1

# %% [markdown]
# Let $m_+$ and $m_-$ keys belong to the classes, $m=m_++m_-$, and let $\hat p_+$ and $\hat p_-$ be their Parzen estimates.
# Then $\frac{m_+}m\hat p_+(q)=\frac1m\sum_{i\in+}K(q-k_i)$, and the difference of the two weighted densities is $\frac1m\sum_iv_iK(q-k_i)$ with $v_i=\pm1$.
# Divided by the density of all keys, $\frac1m\sum_jK(q-k_j)>0$, it is (11.2.1); a positive divisor keeps the sign.
# Without the shares, each class counts as if it were equally frequent, and the boundary moves into the larger class.

# %%
rng = torch.Generator().manual_seed(4)
plus = torch.randn(150, generator=rng, dtype=torch.float64) + 1
minus = torch.randn(50, generator=rng, dtype=torch.float64) - 1
x = torch.cat((plus, minus))
signs = torch.tensor([1.0] * 150 + [-1.0] * 50, dtype=torch.float64)
q = torch.linspace(-3, 3, 121, dtype=torch.float64)
narrow = with_spread(gaussian, 0.4)
assert plus.mean() > 0.8 and minus.mean() < -0.8
assert plus.std() > 0.8 and minus.std() > 0.8
p_plus, p_minus, p_all = (narrow(q[:, None] - part).mean(dim=1)
                          for part in (plus, minus, x))
difference = 0.75 * p_plus - 0.25 * p_minus
y_hat, _ = nadaraya_watson(x, signs, q, narrow)
torch.testing.assert_close(y_hat, difference / p_all)
assert torch.equal(y_hat.sign(), difference.sign())
forgotten = p_plus - p_minus
moved = q[y_hat.sign() != forgotten.sign()]
print(f"without the shares {len(moved)} of 121 answers change")
assert 5 < len(moved) < 30
assert (y_hat[y_hat.sign() != forgotten.sign()] > 0).all()

# %% [markdown]
# ### Exercise 11.2-2
#
# Learn $\log\sigma$ by gradient descent, with and without leave-one-out, from the starting widths 0.2, 0.5 and 1.5.
# Where does each run end?

# %% [markdown]
# #### Solution 11.2-2

# %% [markdown]
# On the training error the width shrinks from every start for as long as the descent goes on, though ever more slowly: the softmax saturates, and with it the gradient fades.
# With leave-one-out each run comes to rest in a valley of the curve in Figure 11.2.8, but which one depends on the start: from 0.2 it is the lower one, from 0.5 and 1.5 the other.
# A grid search, cheap in one dimension, does not have this problem.

# %%
def learn_width(start, leave_out, steps=120, lr=0.5):
    """Widths of a gradient descent on the mean squared error."""
    log_sigma = torch.tensor(start, dtype=torch.float64).log()
    log_sigma.requires_grad_()
    optimizer = torch.optim.SGD([log_sigma], lr=lr)
    path = []
    for _ in range(steps):
        sigma = log_sigma.exp()
        if leave_out:
            loss = loo_bandwidth(x_train, y_train, sigma[None])[1][0]
        else:
            y_hat, _ = gaussian_attention(x_train, y_train, x_train, sigma)
            loss = (y_hat - y_train).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append(sigma.item())
    return path

# %%
starts = (0.2, 0.5, 1.5)
by_train, by_left_out = ([learn_width(s, leave) for s in starts]
                         for leave in (False, True))
for start, a, b in zip(starts, by_train, by_left_out):
    print(f"start {start}: training error {a[-1]:.3f}, "
          f"leave-one-out {b[-1]:.3f}")
for path in by_train:  # still falling, in ever smaller steps
    assert path[-1] < 0.02 and path[-1] < path[-50]
    assert path[-41] - path[-1] < path[-81] - path[-41]
for path in by_left_out:  # at rest
    assert abs(path[-1] - path[-40]) < 1e-4
valleys = [path[-1] for path in by_left_out]
torch.testing.assert_close(
    torch.tensor(valleys), torch.tensor([0.147, 0.431, 0.431]),
    rtol=0, atol=0.005)
assert abs(valleys[0] / chosen - 1) < 0.1  # the grid found the lower one

# %% [markdown]
# ### Exercise 11.2-3
#
# Let all queries and keys have length 1.
# Show that Gaussian weights of width $\sigma$ are then a softmax of plain dot products, and find its temperature.

# %% [markdown]
# #### Solution 11.2-3

# %% [markdown]
# On the unit sphere $\|\mathbf{q}-\mathbf{k}\|^2=2-2\mathbf{q}^\top\mathbf{k}$.
# So $-\|\mathbf{q}-\mathbf{k}\|^2/2\sigma^2=\mathbf{q}^\top\mathbf{k}/\sigma^2-1/\sigma^2$; the last term cancels in the softmax, and the temperature is $\sigma^2$.
# For keys of other lengths the term $-\|\mathbf{k}\|^2/2\sigma^2$ would remain.

# %%
rng = torch.Generator().manual_seed(5)
raw_q, raw_k = (torch.randn(n, 6, generator=rng) for n in (7, 9))
V = torch.randn(9, 2, generator=rng)
for unit in (True, False):
    q, k = (F.normalize(t, dim=1) if unit else t for t in (raw_q, raw_k))
    expected, _ = nadaraya_watson(k, V, q, radial(with_spread(gaussian, 0.6)))
    by_dots = F.scaled_dot_product_attention(q[None], k[None], V[None],
                                             scale=1 / 0.6**2)[0]
    distance = (expected - by_dots).abs().max().item()
    print(f"unit length: {unit}, largest difference {distance:.4f}")
    assert (distance < 1e-5) == unit

# %% [markdown]
# ### Exercise 11.2-4
#
# For a smooth curve in one dimension the squared bias away from the boundary is about $a\sigma^4$ and the variance about $b/(m\sigma)$, with constants $a$ and $b$.
# Derive how the best $\sigma$ depends on the number $m$ of keys, and simulate it.
# What changes if queries near the boundary count too?

# %% [markdown]
# #### Solution 11.2-4

# %% [markdown]
# The derivative $4a\sigma^3-b/(m\sigma^2)$ vanishes at $\sigma=(b/4am)^{1/5}$: the width shrinks like $m^{-1/5}$, the error like $m^{-4/5}$.
# At a boundary the bias is of order $\sigma$.
# It affects a share of the queries that is proportional to $\sigma$, so it adds about $c\,\sigma\cdot\sigma^2$ to the mean squared error, and balance with $b/(m\sigma)$ gives a width like $m^{-1/4}$ and an error like $m^{-3/4}$ for large $m$.
#
# The simulation needs no noise: bias and variance follow from the weights.
# The queries must lie close together compared with the width, or they miss the boundary.
# The widths follow the two laws; over all queries the error falls more slowly than inside, but at these sizes its exponent is still between $-4/5$ and $-3/4$.

# %%
def best_width(m, x_query, generator):
    """Best width for m keys and its error, by exact bias and variance."""
    sigmas = torch.logspace(-1.1, -0.4, 40).double()
    x = 5 * torch.rand(12_800 // m, m, generator=generator).double()
    risks = []
    for sigma in sigmas:
        mean, weights = fit_softmax(x, f(x), x_query, sigma)
        risks.append((mean - f(x_query)).square().mean()
                     + weights.square().sum(dim=2).mean())
    risks = torch.stack(risks)
    assert 0 < risks.argmin() < len(sigmas) - 1
    return sigmas[risks.argmin()], risks.min()

# %%
sizes = torch.tensor([400, 1600, 6400]).double()
slopes, state = {}, torch.get_rng_state()
for name, (a, b) in {"interior": (1, 4), "all": (0, 5)}.items():
    q = a + (b - a) * (torch.arange(100).double() + 0.5) / 100
    rng = torch.Generator().manual_seed(6)
    results = torch.stack([torch.stack(best_width(int(m), q, rng))
                           for m in sizes])  # (3, 2)
    ends = (results[-1] / results[0]).log() / (sizes[-1] / sizes[0]).log()
    slopes[name] = ends.tolist()
    print(f"{name}: widths {[round(w, 2) for w in results[:, 0].tolist()]}, "
          f"exponents of width and error {ends[0]:.2f}, {ends[1]:.2f}")
assert torch.equal(torch.get_rng_state(), state)  # only our generator
assert abs(slopes["interior"][0] + 1 / 5) < 0.02
assert abs(slopes["interior"][1] + 4 / 5) < 0.035
assert abs(slopes["all"][0] + 1 / 4) < 0.02
assert -4 / 5 < slopes["all"][1] < -3 / 4  # between the two
assert slopes["all"][0] < slopes["interior"][0] - 0.02
assert slopes["all"][1] > slopes["interior"][1] + 0.02

# %% [markdown]
# ### Exercise 11.2-5
#
# *Local linear regression* fits a straight line to the values, with the weights of the query, and predicts with the line's value at the query.
# Derive it, show that it reproduces linear data exactly, and compare its bias at the boundary with that of Figure 11.2.9.
# Which of the two has the smaller error, each at its best width?

# %% [markdown]
# #### Solution 11.2-5

# %% [markdown]
# With $u_i=k_i-q$ and weights $w_i$ that sum to 1, minimize $\sum_iw_i(v_i-a-bu_i)^2$ over $a$ and $b$.
# The prediction is $a$, since $u=0$ at the query.
# Write $s_r=\sum_iw_iu_i^r$ and $t_r=\sum_iw_iu_i^rv_i$.
# The normal equations $a+bs_1=t_0$ and $as_1+bs_2=t_1$ give $a=(s_2t_0-s_1t_1)/(s_2-s_1^2)$.
# In the middle of evenly spaced keys $s_1\approx0$, and $a$ is the Nadaraya-Watson estimate $t_0$; at the boundary $s_1$ corrects it.
# If the values lie on a line, this line has the error 0 and is found.
#
# The measurement below shows the bias at the left end shrink to a tenth or less; at the peak it hardly changes.
# The line has a price: its slope is one more quantity estimated from noisy values, and the variance grows.
# At width 0.5, where the squared bias was the larger part, the error falls; at 0.3, where the variance was, it rises.
# So the line wants a wider kernel; with each method at its best width of the grid it has the smaller error.

# %%
def local_linear(x_train, y_train, x_query, sigma):
    """Value at each query of the line fitted with Gaussian weights."""
    _, weights = gaussian_attention(x_train, y_train, x_query, sigma)
    u = x_train[None] - x_query[:, None]  # (Q, N)
    s1, s2 = ((weights * u**r).sum(dim=1) for r in (1, 2))
    t0, t1 = ((weights * u**r) @ y_train for r in (0, 1))
    return (s2 * t0 - s1 * t1) / (s2 - s1**2)


line = 3 - 2 * x_train
torch.testing.assert_close(local_linear(x_train, line, x_query, 0.5),
                           3 - 2 * x_query)
averaged, _ = gaussian_attention(x_train, line, x_query, 0.5)
assert (averaged - (3 - 2 * x_query)).abs().max() > 0.5

# %%
fit_lines = torch.vmap(local_linear, in_dims=(0, 0, None, None))
outcome = {}
for s in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
    for name, fit in (("weighted mean", lambda *a: fit_softmax(*a)[0]),
                      ("local line", fit_lines)):
        bias = fit(many_x, f(many_x), x_query, s) - f(x_query)
        risk = (fit(many_x, many_y, x_query, s) - f(x_query)).square().mean()
        outcome[name, s] = (*bias.mean(dim=0)[[0, 21]].tolist(), risk.item(),
                            bias.square().mean().item())
        if s in (0.3, 0.5):
            print("{}, width {}: bias {:.2f} at 0, {:.2f} at the peak; error "
                  "{:.3f}, squared bias {:.3f}".format(name, s,
                                                       *outcome[name, s]))
best = {name: min((v[2], s) for (n, s), v in outcome.items() if n == name)
        for name in ("weighted mean", "local line")}
for name, (risk, s) in best.items():
    print(f"{name}: smallest error {risk:.3f}, at width {s}")

# %%
for s in (0.3, 0.5):
    mean, local = outcome["weighted mean", s], outcome["local line", s]
    assert 0 < local[0] < 0.11 * mean[0]
    assert abs(local[1] - mean[1]) < 0.02 and local[1] < -0.05
    if full_run:
        assert 0.02 < (local[2] - mean[2]) * (1 if s == 0.3 else -1) < 0.08
        assert local[2] - local[3] > mean[2] - mean[3] + 0.02  # variance
        assert (mean[3] > mean[2] / 2) == (s == 0.5)
if full_run:
    (mean_best, at_mean), (line_best, at_line) = best.values()
    assert line_best < 0.94 * mean_best and 0.2 < at_mean < at_line < 0.8

# %% [markdown]
# ## Sources
#
# - E. A. Nadaraya, *On estimating regression*, Theory of Probability and its Applications 9 (1964), [doi:10.1137/1109020](https://doi.org/10.1137/1109020); G. S. Watson, *Smooth regression analysis*, Sankhya A 26 (1964), 359-372: the estimator.
# - M. Rosenblatt, *Remarks on some nonparametric estimates of a density function*, Annals of Mathematical Statistics 27 (1956), [doi:10.1214/aoms/1177728190](https://doi.org/10.1214/aoms/1177728190); E. Parzen, *On estimation of a probability density function and mode*, Annals of Mathematical Statistics 33 (1962), [doi:10.1214/aoms/1177704472](https://doi.org/10.1214/aoms/1177704472): windows for densities.
# - V. A. Epanechnikov, *Non-parametric estimation of a multivariate probability density*, Theory of Probability and its Applications 14 (1969), [doi:10.1137/1114019](https://doi.org/10.1137/1114019): the parabola.
# - Y. P. Mack and B. W. Silverman, *Weak and strong uniform consistency of kernel regression estimates*, Zeitschrift für Wahrscheinlichkeitstheorie und verwandte Gebiete 61 (1982), 405-415.
# - D. G. Lowe, *Similarity metric learning for a variable-kernel classifier*, Neural Computation 7 (1995), [doi:10.1162/neco.1995.7.1.72](https://doi.org/10.1162/neco.1995.7.1.72).
# - J. Goldberger, S. Roweis, G. Hinton and R. Salakhutdinov, *Neighbourhood components analysis*, NeurIPS 2004, [proceedings](https://proceedings.neurips.cc/paper/2004/hash/42fe880812925e520249e808937738d2-Abstract.html).
# - Y.-H. H. Tsai et al., *Transformer dissection: a unified understanding of Transformer's attention via the lens of kernel*, EMNLP 2019, [arXiv:1908.11775](https://arxiv.org/abs/1908.11775).
# - H.-J. Ye, H.-H. Yin, D.-C. Zhan and W.-L. Chao, *Revisiting nearest neighbor for tabular data: a deep tabular baseline two decades later* (2024; ICLR 2025), [arXiv:2407.03257](https://arxiv.org/abs/2407.03257).
