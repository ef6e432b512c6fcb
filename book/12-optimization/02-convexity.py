# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu:
#         trials: 4000000
#         images: 400
#       smoke:
#         trials: 20000
#         images: 60
#     rehearsal:
#       trials: 0.05
#       images: 0.25
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
# # 12.2 Convexity
#
# The loss of a network with a hidden layer is in general not convex in its weights; Exercise 4 exhibits a counterexample.
# Why study convexity, then?
# Many proofs about optimizers assume it, some problems inside deep learning have it, and projections, one of its tools, are in daily use: gradient clipping is one.
#
# **You will**
#
# - test sets and functions for convexity, and know what such a test cannot show;
# - use the first-order condition, strong convexity, smoothness and Jensen's inequality, on which the rest of the chapter relies;
# - solve one constrained problem in three ways: with a multiplier, a penalty and a projection;
# - project on balls, and explain why one of them makes zeros.
#
# **Cost**: about fifteen seconds on a CPU, no use for a GPU, no download.

# %%
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import Lasso
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.optimization import hessian_eigs

d2l.use_style()

# %% tags=["parameters"]
trials = 1_000_000  # draws for Jensen's inequality
images = 300  # digits to train a last layer, and as many to calibrate it

# %% [markdown]
# ## Convex sets
#
# A set $\mathcal{X}\subseteq\mathbb{R}^d$ is *convex* if it contains, with any two points, the segment between them:
#
# $$s\,\mathbf{a}+(1-s)\,\mathbf{b}\in\mathcal{X}\quad\text{for all }\mathbf{a},\mathbf{b}\in\mathcal{X},\ s\in[0,1], \tag{12.2.1}$$
#
# where $s$ is the share of $\mathbf{a}$ in the mixture.
# Intersections of convex sets are convex: two points of the intersection belong to each set, so their segment does, too.
# For unions the argument fails, and so does the claim.
#
# ![Four shaded sets. An ellipse contains the segment between two of its points. The segment between the tips of a crescent leaves it. The overlap of two discs is convex. Their union is not: a segment near its top leaves it at the notch.](img/convex-sets.svg)
#
# **Figure 12.2.1.** Segments that stay inside a set, and segments that leave it.
#
# A test follows from the definition: mix random pairs of points, and look for a mixture outside.

# %%
def mixtures_outside(inside, points, generator):
    """Mixtures of random pairs of `points` (n, d) that are not `inside`.

    `inside` maps points (n, d) to n truth values.
    """
    partners = points[torch.randperm(len(points), generator=generator)]
    share = torch.rand(len(points), 1, generator=generator)
    mixed = share * points + (1 - share) * partners
    return mixed[~inside(mixed)]


def disc(x1):
    """Membership in the disc of radius 1 around (x1, 0)."""
    return lambda x: (x - torch.tensor([x1, 0.0])).norm(dim=1) <= 1


rng = torch.Generator().manual_seed(0)
plane = 4 * torch.rand(20_000, 2, generator=rng) - 2
left, right = disc(-0.7), disc(0.7)
for name, inside in (("disc", left),
                     ("intersection", lambda x: left(x) & right(x)),
                     ("union", lambda x: left(x) | right(x))):
    points = plane[inside(plane)]
    found = mixtures_outside(inside, points, rng)
    print(f"{name:12} {len(points):4} points, "
          f"{len(found):3} mixtures outside")
    assert len(points) > 200 and (len(found) > 0) == (name == "union")

# %% tags=["hide-input"]
# check: the mixtures come from the pairs, everywhere on the segments
ends = torch.tensor([[0.0, 1.0]]).expand(4000, 2).clone()
ends[:2000] = torch.tensor([2.0, -1.0])
all_mixed = mixtures_outside(lambda x: x[:, 0] < -1, ends, rng)
assert len(all_mixed) == 4000
torch.testing.assert_close(all_mixed[:, 1], 1 - all_mixed[:, 0])
assert all_mixed.min() >= -1 and all_mixed.max() <= 2
inner = all_mixed[(all_mixed[:, 0] > 0) & (all_mixed[:, 0] < 2), 0] / 2
assert 1700 < len(inner) < 2300 and abs(inner.mean() - 0.5) < 0.03
assert abs(inner.var() - 1 / 12) < 0.01
again = [mixtures_outside(lambda x: x[:, 0] < -1, ends,
                          torch.Generator().manual_seed(1)) for _ in range(2)]
assert again[0].equal(again[1])  # all chance is the generator's
edge = torch.tensor([[1.5, 0.0], [1.51, 0.0], [0.5, -1.0]])
assert disc(0.5)(edge).tolist() == [True, False, True]

# %% [markdown]
# The unit ball of the $p$-norm, $\{\mathbf{x}:\sum_i|x_i|^p\le1\}$, is convex for $p\ge1$ (Exercise 1), but in two or more dimensions not for $0<p<1$.
# In the plane it contains $(1,0)$ and $(0,1)$; their mean $(\frac12,\frac12)$ has the sum $2^{1-p}$, which is $\sqrt2>1$ for $p=\frac12$.

# %% tags=["hide-input"]
def p_ball(p):
    """Membership in the unit ball of the p-norm, up to rounding."""
    return lambda x: x.abs().pow(p).sum(dim=1) <= 1 + 1e-5


def draw_ball(fig, p):
    ax = fig.subplots()
    angle = torch.linspace(0, 2 * math.pi, 721)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    edge = circle / circle.abs().pow(p).sum(dim=1, keepdim=True) ** (1 / p)
    middle = torch.full((1, 2), 0.5)
    stays = p_ball(p)(middle).item()
    ax.fill(*edge.T, color="C0", alpha=0.15)
    ax.plot(*edge.T, color="C0", lw=1)
    ax.plot([0, 1], [1, 0], "k-", lw=1)
    ax.plot(*middle.T, "o" if stays else "X", ms=8,
            color="C2" if stays else "C1")
    ax.set(aspect="equal", xlim=(-1.15, 1.15), ylim=(-1.15, 1.15),
           title=rf"$p={p:g}$: the middle is "
                 f"{'inside' if stays else 'outside'}")


d2l.sliders(draw_ball, """The unit ball of the p-norm with the segment from
    (0, 1) to (1, 0). Below p = 1 it is a star with four tips, and the middle
    of the segment lies outside; from the diamond at p = 1 on, it is inside.
    """, figsize=(2.8, 2.8), p=[0.5, 0.8, 1, 1.5, 2, 4])

# %% [markdown]
# **Figure 12.2.2.** Unit balls of $p$-norms in the plane, with one segment and its middle.

# %% tags=["hide-input"]
# check: mixtures leave the ball for p < 1, and never for p >= 1
for p in (0.5, 0.8, 1, 1.5, 2, 4):
    points = plane[p_ball(p)(plane)]
    assert (len(mixtures_outside(p_ball(p), points, rng)) > 0) == (p < 1)
    middle = torch.full((1, 2), 0.5)
    assert p_ball(p)(middle).item() == (2 ** (1 - p) <= 1)

# %% [markdown]
# ## Convex functions
#
# A function $f:\mathcal{X}\to\mathbb{R}$ on a convex set is *convex* if no point of its graph lies above a chord:
#
# $$f(s\,\mathbf{a}+(1-s)\,\mathbf{b})\le s\,f(\mathbf{a})+(1-s)\,f(\mathbf{b})\quad\text{for all }\mathbf{a},\mathbf{b}\in\mathcal{X},\ s\in[0,1]. \tag{12.2.2}$$
#
# Equivalently, the region on and above the graph is a convex set.
# For $f(x)=x^2$ and $s=\frac12$, the points $-1$ and 3 give $1\le5$.
# A function is *concave* if $-f$ is convex.
# Again we test by searching for a counterexample.

# %%
def violating_chord(f, lo, hi, trials, generator):
    """A chord (a, b, share) that the graph of f exceeds, or None.

    Tries random chords between `lo` and `hi`, numbers or tensors (d,), and
    returns the one that is exceeded most. f maps a batch of points, of
    shape (trials,) or (trials, d), to (trials,). Excess of the size of
    rounding does not count.
    """
    lo = torch.as_tensor(lo, dtype=torch.float64)
    hi = torch.as_tensor(hi, dtype=torch.float64)
    a, b = lo + (hi - lo) * torch.rand(
        2, trials, *lo.shape, generator=generator, dtype=lo.dtype)
    share = torch.rand(trials, generator=generator, dtype=lo.dtype)
    s = share.reshape(-1, *[1] * lo.ndim)
    chord = share * f(a) + (1 - share) * f(b)
    excess = f(s * a + (1 - s) * b) - chord - 1e-12 * (1 + chord.abs())
    worst = excess.argmax()
    if excess[worst] <= 0:
        return None
    return a[worst], b[worst], share[worst]

# %%
# check 12.2-C1: the search refutes, and it can miss
def dented(x):
    """x^2 with a bump of height 1 and width 1e-6 at 0.3."""
    return x**2 + torch.exp(-((x - 0.3) / 1e-6) ** 2)


rng = torch.Generator().manual_seed(1)
for f in (lambda x: x**2 / 2, lambda x: torch.exp(x / 2), lambda x: 3 * x):
    assert violating_chord(f, -3, 3, 2000, rng) is None
a, b, s = violating_chord(lambda x: torch.cos(math.pi * x), -3, 3, 2000, rng)
mixed = s * a + (1 - s) * b
assert torch.cos(math.pi * mixed) > 1.5 + s * torch.cos(
    math.pi * a) + (1 - s) * torch.cos(math.pi * b)
assert violating_chord(dented, -1, 1, 2000, rng) is None  # missed
near = violating_chord(dented, 0.3 - 1e-5, 0.3 + 1e-5, 2000, rng)
assert near is not None  # found by one who knows where to look

# %% tags=["hide-input"]
# check: it looks in the whole interval, at all shares, in d dimensions
for center in (-2.8, 2.8):
    assert violating_chord(lambda x: -(x - center).abs().clamp(max=0.1),
                           -3, 3, 2000, rng) is not None
assert violating_chord(lambda x: -x**2, 1, 1.01, 50, rng) is not None
assert -3 <= a <= 3 and -3 <= b <= 3 and 0 < s < 1
assert violating_chord(lambda x: x.square().sum(dim=1), [-1.0, 2.0],
                       [1.0, 5.0], 500, rng) is None
a2, b2, _ = violating_chord(lambda x: x[:, 0] * x[:, 1], [-1.0, 2.0],
                            [1.0, 5.0], 500, rng)
assert a2.shape == (2,) and min(a2[1], b2[1]) >= 2 and a2[0].abs() <= 1
shares = [violating_chord(lambda x: -x**2, -1, 1, 1, rng)[2].item()
          for _ in range(200)]
assert min(shares) < 0.1 and max(shares) > 0.9
hump = (lambda x: torch.exp(-((x - 2) / 0.2) ** 2), -3, 3, 2000)
a2, b2, s2 = violating_chord(*hump, torch.Generator().manual_seed(1))
assert hump[0](s2 * a2 + (1 - s2) * b2) > 0.9  # s2 is the share of a2
assert (a2, b2, s2) == violating_chord(
    *hump, torch.Generator().manual_seed(1))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.4), layout="constrained")
x = torch.linspace(-3, 3, 301, dtype=torch.float64)
for ax, f, title, chord in (
        (axes[0], lambda x: x**2 / 2, r"$\frac{1}{2}x^2$", (-2, 2.5)),
        (axes[1], lambda x: torch.exp(x / 2), r"$e^{x/2}$", (-2, 2.5)),
        (axes[2], lambda x: torch.cos(math.pi * x), r"$\cos\pi x$", (a, b))):
    ends = torch.as_tensor(chord, dtype=torch.float64)
    ax.fill_between(x, f(x), f(x).max() + 0.3, color="C0", alpha=0.12, lw=0)
    ax.plot(x, f(x))
    ax.plot(ends, f(ends), "o--", color="C1", ms=4)
    ax.set(title=title, xlabel="$x$")
axes[0].set_ylabel("$f(x)$")
d2l.describe(axes, """Three graphs, each with the region above it shaded and
    one chord. The parabola and the exponential lie below their chords. The
    chord of the cosine joins points close to two neighbouring minima, and
    the hill between them rises above it.""")

# %% [markdown]
# **Figure 12.2.3.** The parabola and the exponential lie below their chords; the dashed chord of the cosine is the one that the search returned.
#
# A search that finds nothing proves nothing: 2000 random chords missed a bump of width $10^{-6}$.
# Nor is there always a quick exact test; deciding whether a polynomial of degree four in many variables is convex is NP-hard (Ahmadi and others, 2013).
# In practice, functions are proved convex by the way they are built.
# Three rules, each of which follows directly from (12.2.2), carry far: a sum of convex functions with weights $\ge0$ is convex, so is the maximum of convex functions, and so is $f(\mathbf{A}\mathbf{x}+\mathbf{b})$ for convex $f$.
# Modelling languages such as CVXPY check a problem by rules of this kind.

# %%
# check 12.2-C8: the maximum of convex functions is convex, not the minimum
def two_valleys(choose):
    return lambda x: choose((x - 1) ** 2, (x + 1) ** 2)


rng = torch.Generator().manual_seed(8)
assert violating_chord(two_valleys(torch.maximum), -3, 3, 2000, rng) is None
a, b, s = violating_chord(two_valleys(torch.minimum), -3, 3, 2000, rng)
assert a * b < 0  # the chord joins the two valleys
bottoms = torch.tensor([-1.0, 1.0])
assert two_valleys(torch.minimum)(bottoms).tolist() == [0, 0]
assert two_valleys(torch.maximum)(bottoms).tolist() == [4, 4]

# %% [markdown]
# ## What convexity gives
#
# **Local minima are global.** Let $\mathbf{x}$ be a local minimum of a convex function, and suppose that some $\mathbf{y}$ had $f(\mathbf{y})<f(\mathbf{x})$.
# On the segment from $\mathbf{x}$ to $\mathbf{y}$, (12.2.2) gives $f(s\mathbf{y}+(1-s)\mathbf{x})\le f(\mathbf{x})-s\,(f(\mathbf{x})-f(\mathbf{y}))$, which is less than $f(\mathbf{x})$ for every $s>0$, also for points as near to $\mathbf{x}$ as we like.
# That contradicts the local minimum.
#
# This does not say that there is exactly one minimum, or any.
# All of $[-1,1]$ minimizes $\max(|x|-1,0)$, and $e^x$ has no minimum at all.
# The cross-entropy of a linear classifier on separable data is of the second kind: along a direction that separates the classes it falls forever and never reaches its infimum 0.
#
# **Sublevel sets are convex.** If $f(\mathbf{a})$ and $f(\mathbf{b})$ are at most $c$, (12.2.2) bounds $f$ by $c$ between them, so $\{\mathbf{x}:f(\mathbf{x})\le c\}$ is convex.
# The converse is false: a function all of whose sublevel sets are convex is called *quasiconvex*, and $\sqrt{|x|}$ is an example that is not convex.

# %%
def is_interval(mask):
    """Whether the true entries of a mask (n,) are neighbours."""
    return mask.int().diff().abs().sum() + mask[0] + mask[-1] <= 2


x = torch.linspace(-3, 3, 601, dtype=torch.float64)
levels = torch.linspace(-0.9, 1.5, 9)
roots, wave = x.abs().sqrt(), torch.cos(math.pi * x)
assert all(is_interval(roots <= c) for c in levels)
assert not all(is_interval(wave <= c) for c in levels)
assert is_interval(x < -2) and not is_interval(x.abs() > 2)
masks = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 1, 0], [0, 1, 1]]) > 0
assert [bool(is_interval(mask)) for mask in masks] == [False] + 3 * [True]
assert violating_chord(lambda x: x.abs().sqrt(), -3, 3, 2000, rng) is not None

# %% [markdown]
# ## Tangents, curvature and two parabolas
#
# Let $f$ be differentiable and convex.
# Write (12.2.2) as $f(\mathbf{x}+s(\mathbf{y}-\mathbf{x}))-f(\mathbf{x})\le s\,(f(\mathbf{y})-f(\mathbf{x}))$, divide by $s$ and let $s\to0$:
#
# $$f(\mathbf{y})\ge f(\mathbf{x})+\nabla f(\mathbf{x})^\top(\mathbf{y}-\mathbf{x}). \tag{12.2.3}$$
#
# This *first-order condition* says that tangents lie below the graph.
# It turns local knowledge, one gradient, into a bound everywhere, and [Section 12.3](03-gradient-descent.ipynb) and [Section 12.4](04-sgd.ipynb) build on it.
# In particular, $\nabla f(\mathbf{x})=\mathbf{0}$ makes $\mathbf{x}$ a global minimum.
# Conversely, a function above all its tangents is convex: the tangent at $s\mathbf{a}+(1-s)\mathbf{b}$ lies below $f$ at $\mathbf{a}$ and at $\mathbf{b}$, and the mixture of the two inequalities is (12.2.2).
#
# With second derivatives, in one dimension: $f$ is convex exactly if $f''\ge0$ everywhere.
# By Taylor's formula $f(y)=f(x)+f'(x)(y-x)+\frac12f''(\xi)(y-x)^2$ with $\xi$ between $x$ and $y$, so $f''\ge0$ implies (12.2.3); if $f''<0$ at a point of continuity, (12.2.3) fails near it.
# In many dimensions a chord only sees its own line, so $f$ is convex exactly if $g(z)=f(z\mathbf{x}+(1-z)\mathbf{y})$ is convex for all $\mathbf{x},\mathbf{y}$.
# Since $g''(z)=(\mathbf{x}-\mathbf{y})^\top\nabla^2f\,(\mathbf{x}-\mathbf{y})$, the condition becomes $\mathbf{v}^\top\nabla^2f\,\mathbf{v}\ge0$ for all $\mathbf{v}$: no eigenvalue of the Hessian is negative anywhere.
#
# Our main example is $\log\sum_i e^{o_i}$ of scores $\mathbf{o}\in\mathbb{R}^q$, the part of the cross-entropy that is not linear ([Section 4.1](../04-linear-classification/01-softmax-regression.ipynb)).
# Its Hessian is $\mathrm{diag}(\mathbf{p})-\mathbf{p}\mathbf{p}^\top$ with $\mathbf{p}=\operatorname{softmax}(\mathbf{o})$.
# For every $\mathbf{v}$, $\mathbf{v}^\top(\mathrm{diag}(\mathbf{p})-\mathbf{p}\mathbf{p}^\top)\mathbf{v}=\sum_ip_iv_i^2-(\sum_ip_iv_i)^2$ is the variance of a number that equals $v_i$ with probability $p_i$: never negative, and 0 only if all $v_i$ are equal.

# %%
# check 12.2-C2: the Hessian of log-sum-exp is singular, never negative
rng = torch.Generator().manual_seed(2)
for scores in torch.randn(20, 5, generator=rng, dtype=torch.float64):
    H = torch.func.hessian(lambda o: o.logsumexp(dim=0))(scores)
    p = scores.softmax(dim=0)
    torch.testing.assert_close(H, p.diag() - p.outer(p))
    v = torch.randn(5, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(v @ H @ v, p @ (v - p @ v) ** 2)
    assert (H @ torch.ones(5, dtype=H.dtype)).abs().max() < 1e-14
    eigs = hessian_eigs(lambda o: o.logsumexp(dim=0), scores)
    assert eigs[0].abs() < 1e-14 and eigs[1] > 1e-4

# %% [markdown]
# So the cross-entropy is convex in the scores and, by the third rule, in the weights of a linear classifier.
# The eigenvalue 0 belongs to $\mathbf{v}=(1,\dots,1)$: adding one number to all scores changes no probability.
# This time the argument covers all scores; the 20 that we tried only check the algebra.
#
# How convex is a function?
# It is *strongly convex* with constant $\mu>0$ if all eigenvalues of its Hessian are at least $\mu$, and *smooth* with constant $L$ if none exceeds $L$ in magnitude.
# Taylor's formula along the segment then gives for convex $f$ two parabolas that touch the graph at $\mathbf{x}$ from below and from above:
#
# $$\tfrac\mu2\|\mathbf{y}-\mathbf{x}\|^2\le f(\mathbf{y})-f(\mathbf{x})-\nabla f(\mathbf{x})^\top(\mathbf{y}-\mathbf{x})\le\tfrac L2\|\mathbf{y}-\mathbf{x}\|^2. \tag{12.2.4}$$
#
# The function $f(x)=\frac14x^2+\log(e^x+e^{-x})$ has $f''(x)=\frac12+4/(e^x+e^{-x})^2$, between $\mu=\frac12$ and $L=\frac32$.

# %%
def bowl(x):
    """x^2 / 4 + log(e^x + e^-x), with curvature between 1/2 and 3/2."""
    return x**2 / 4 + torch.logaddexp(x, -x)


mu, L = 0.5, 1.5
x, y = 6 * torch.rand(2, 5000, dtype=torch.float64, generator=rng) - 3
slope = torch.func.grad(lambda x: bowl(x).sum())
torch.testing.assert_close(slope(x), x / 2 + torch.tanh(x))
gap = bowl(y) - bowl(x) - slope(x) * (y - x)
ratio = gap / ((y - x) ** 2 / 2)  # between the two curvatures
assert mu < ratio.min() < mu + 0.1 and L - 0.01 < ratio.max() < L + 1e-4

# %% tags=["hide-input"]
def draw_parabolas(fig, x):
    ax = fig.subplots()
    y = torch.linspace(-3, 3, 121, dtype=torch.float64)
    point = torch.tensor(x, dtype=torch.float64)
    tangent = bowl(point) + slope(point) * (y - point)
    square = (y - point) ** 2 / 2
    ax.plot(y, bowl(y), "k-", lw=2, label="$f$")
    ax.plot(y, tangent, ":", color="C2", label="tangent")
    ax.plot(y, tangent + mu * square, "--", color="C0",
            label=r"below, $\mu$")
    ax.plot(y, tangent + L * square, "-.", color="C1", label="above, $L$")
    ax.plot(point, bowl(point), "ko", ms=6)
    ax.set(xlabel="$y$", ylim=(-2.5, 6), title=f"$x={x:g}$")
    ax.legend(fontsize=7, loc="upper center", ncols=2)


d2l.sliders(draw_parabolas, """The graph of a convex function with its tangent
    at a movable point and two parabolas through that point. Tangent and flat
    parabola stay below the graph, the steep parabola above it.""",
            figsize=(4.2, 2.8), x=[-2, -1, 0, 1, 2])

# %% [markdown]
# **Figure 12.2.4.** Tangent and parabolas of (12.2.4) at the dot: move it.
#
# The lower parabola rises to infinity on all sides, so a strongly convex function on $\mathbb{R}^d$ has a minimum; and where the gradient is 0, the parabola says that all other points lie higher, so it has only one.
# The upper one limits how long a step can safely be.
# [Section 12.3](03-gradient-descent.ipynb) turns the pair, and the condition number $\kappa=L/\mu$, into numbers of steps.

# %% [markdown]
# ## Jensen's inequality
#
# Chords mix two points; (12.2.2) extends to any number.
# For shares $s_i\ge0$ with sum 1,
#
# $$f\Big(\sum_{i=1}^ns_i\mathbf{x}_i\Big)\le\sum_{i=1}^ns_i\,f(\mathbf{x}_i). \tag{12.2.5}$$
#
# *Proof by induction.* For $n=2$ this is the definition.
# For larger $n$ and $s_n<1$, the first $n-1$ points have the mean $\mathbf{m}=\sum_{i<n}\frac{s_i}{1-s_n}\mathbf{x}_i$, the whole is $(1-s_n)\mathbf{m}+s_n\mathbf{x}_n$, and $f((1-s_n)\mathbf{m}+s_n\mathbf{x}_n)\le(1-s_n)f(\mathbf{m})+s_nf(\mathbf{x}_n)$; apply the claim for $n-1$ points to $f(\mathbf{m})$.
# For differentiable $f$ and a random vector $X$ with a mean, the expectation of the first-order condition at $E[X]$ gives the same at once:
#
# $$f(E[X])\le E[f(X)]. \tag{12.2.6}$$
#
# Jensen published it in 1906; Hölder had a version for functions with increasing derivative in 1889.
# The gap is about $\frac12f''\cdot\operatorname{Var}(X)$ for narrow distributions, but not for wide ones: for $e^X$ and a normal $X$ with mean 0 and standard deviation 2 it is more than twice as large.

# %%
# check 12.2-C3: E[exp X] for a standard normal X is exp(1/2), not exp(0)
rng = torch.Generator().manual_seed(3)
draws = torch.randn(trials, generator=rng, dtype=torch.float64)
mean_exp = draws.exp().mean()
print(f"mean of exp(X): {mean_exp:.3f}, exp of the mean: "
      f"{draws.mean().exp():.3f}")
error = draws.exp().std() / trials**0.5  # standard error of the mean
assert abs(mean_exp - math.exp(0.5)) < 4.6 * error
assert 4.6 * error < 0.01 * max(1, (1e6 / trials) ** 0.5) and mean_exp > 1.3
assert abs(draws.mean().exp() - 1) < 4.6 / trials**0.5
for width in (0.1, 0.2):  # the gap is half the variance for narrow X
    gap = (width * draws).exp().mean() - (width * draws).mean().exp()
    assert abs(gap / (0.5 * width**2) - 1) < 0.02 + 5 / trials**0.5
assert (2 * draws).exp().mean() - (2 * draws).mean().exp() > 2 * 0.5 * 2**2

# %% [markdown]
# A use in deep learning: let $n$ networks give the correct class the probabilities $p_i$.
# As $-\log$ is convex, the loss of the averaged probability, $-\log\frac1n\sum_ip_i$, is at most the mean of their losses.
# It need not beat the best of them: for probabilities 0.9 and 0.1 the average has the loss $\log2$, the better network alone 0.105.

# %%
p = torch.tensor([0.9, 0.1])
assert -p.mean().log() < -p.log().mean()
assert abs(-p.mean().log() - math.log(2)) < 1e-6
assert abs(-p[0].log() - 0.105) < 5e-4

# %% [markdown]
# ## Constraints: multipliers and penalties
#
# To minimize $f(\mathbf{x})$ subject to $c_i(\mathbf{x})\le0$ for $i=1,\dots,m$, the *Lagrangian* charges a price $\alpha_i\ge0$ for each constraint:
#
# $$\mathcal{L}(\mathbf{x},\boldsymbol\alpha)=f(\mathbf{x})+\sum_{i=1}^m\alpha_i\,c_i(\mathbf{x}),\qquad\alpha_i\ge0. \tag{12.2.7}$$
#
# The *multipliers* $\boldsymbol\alpha\in\mathbb{R}^m$ are chosen by an opponent who maximizes.
# If $\mathbf{x}$ breaks a constraint, the opponent raises its price without limit; if $c_i(\mathbf{x})<0$, the best price is 0.
# A balance of the two players, a saddle point of $\mathcal{L}$, satisfies the *KKT conditions* (Karush, 1939; Kuhn and Tucker, 1951):
#
# $$\nabla f(\mathbf{x}^*)+\sum_i\alpha_i\nabla c_i(\mathbf{x}^*)=\mathbf{0},\qquad c_i(\mathbf{x}^*)\le0,\qquad\alpha_i\ge0,\qquad\alpha_i\,c_i(\mathbf{x}^*)=0. \tag{12.2.8}$$
#
# The last one is called *complementary slackness*: a constraint that is not tight has price 0.
# For convex differentiable $f$ and $c_i$ the conditions suffice.
# The first says that $\mathbf{x}^*$ minimizes the convex function $\mathcal{L}(\cdot,\boldsymbol\alpha)$, so for every $\mathbf{x}$ that fulfils the constraints $f(\mathbf{x})\ge\mathcal{L}(\mathbf{x},\boldsymbol\alpha)\ge\mathcal{L}(\mathbf{x}^*,\boldsymbol\alpha)=f(\mathbf{x}^*)$.
# They are also necessary if some point has all $c_i<0$ (Slater's condition).
#
# A problem to try them on: the point of the unit disc that is nearest to $\mathbf{a}=(3,4)$,
#
# $$\text{minimize }\tfrac12\|\mathbf{x}-\mathbf{a}\|^2\quad\text{subject to}\quad\tfrac12(\|\mathbf{x}\|^2-1)\le0. \tag{12.2.9}$$
#
# The first condition is $\mathbf{x}-\mathbf{a}+\alpha\mathbf{x}=\mathbf{0}$, so $\mathbf{x}=\mathbf{a}/(1+\alpha)$; norm 1 requires $1+\alpha=\|\mathbf{a}\|=5$.
# Hence $\mathbf{x}^*=(0.6,0.8)$ and $\alpha=4$.
# Let both players move at once, one down the gradient of $\mathcal{L}$, the other up:

# %%
def saddle_iteration(f, c, x0, eta, steps):
    """Descent in x (d,) and ascent in alpha >= 0 on f(x) + alpha c(x).

    Returns both paths, (steps + 1, d) and (steps + 1,).
    """
    path, prices = [x0], [torch.zeros((), dtype=x0.dtype)]
    for _ in range(steps):
        x, alpha = path[-1], prices[-1]
        grad = torch.func.grad(lambda x: f(x) + alpha * c(x))(x)
        path.append(x - eta * grad)
        prices.append((alpha + eta * c(x)).clamp(min=0))
    return torch.stack(path), torch.stack(prices)


def near(a):
    """Half the squared distance from a."""
    return lambda x: 0.5 * (x - a).square().sum()


def in_disc(x):
    """At most 0 in the unit disc."""
    return 0.5 * (x.square().sum() - 1)


a = torch.tensor([3.0, 4.0], dtype=torch.float64)
start = torch.zeros(2, dtype=torch.float64)
paths = {name: saddle_iteration(near(target), in_disc, start, 0.2, 600)
         for name, target in (("outside, (3, 4)", a),
                              ("inside, (0.3, 0.4)", a / 10))}
for name, (path, prices) in paths.items():
    print(f"{name:18}: x = ({path[-1, 0]:.3f}, {path[-1, 1]:.3f}), "
          f"alpha = {prices[-1]:.3f}")

# %%
# check 12.2-C7: the multiplier of a tight constraint, and of a slack one
x_best = torch.tensor([0.6, 0.8], dtype=torch.float64)
path, prices = paths["outside, (3, 4)"]
torch.testing.assert_close(path[-1], x_best, rtol=0, atol=1e-10)
assert abs(prices[-1] - 4) < 1e-9 and a.norm() - 1 == 4
slack_path, slack_prices = paths["inside, (0.3, 0.4)"]
torch.testing.assert_close(slack_path[-1], a / 10, rtol=0, atol=1e-10)
assert (slack_prices == 0).all() and in_disc(slack_path[-1]) < -0.3
outside = path[:-1].norm(dim=1) > 1 + 1e-9
assert outside.sum() > 50 and (prices.diff()[outside] > 0).all()
kkt = torch.func.grad(near(a))(x_best) + 4 * torch.func.grad(in_disc)(x_best)
assert kkt.abs().max() < 1e-12
assert path.shape == (601, 2) and prices.shape == (601,)
assert (prices >= 0).all() and (path[0] == 0).all() and prices[0] == 0
torch.testing.assert_close(path[1], 0.2 * a)

# %% tags=["hide-input"]
fig, (ax, right) = plt.subplots(1, 2, figsize=(7.0, 2.8))
angle = torch.linspace(0, 2 * math.pi, 201)
ax.fill(angle.cos(), angle.sin(), color="C0", alpha=0.15)
for (name, (path, prices)), mark in zip(paths.items(), ("o", "s")):
    ax.plot(*path.T, mark + "-", ms=3, lw=0.7, label=name)
    right.plot(prices[:60], mark + "-", ms=2, lw=0.7, label=name)
right.axhline(4, color="#888888", lw=0.8)
ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
right.set(xlabel="step", ylabel=r"multiplier $\alpha$")
right.legend(fontsize=7)
d2l.describe(fig, """Left, the unit disc with two paths from its centre. The
    one towards (3, 4) leaves the disc and returns to its edge at (0.6, 0.8);
    the other one stops inside at (0.3, 0.4). Right, the multiplier of the
    first rises quickly, then more and more slowly towards 4; that of the
    second stays 0.""")

# %% [markdown]
# **Figure 12.2.5.** Descent in $\mathbf{x}$ and ascent in $\alpha$ for the nearest point to one target outside the disc and one inside.
#
# While the path is outside, the price rises and finally pushes $\mathbf{x}$ back; for the target inside it never leaves 0.
# The players need not settle.
# For $f(x)=x$ and $c(x)=-x$ the balance is $x=0$ at the price 1, but the same iteration circles around it.
# With $\frac12x^2$ added to $f$, it settles there.

# %%
# check: without curvature the players circle, with curvature they settle
def not_negative(x):
    """At most 0 where the only entry of x is at least 0."""
    return -x.sum()


left_of_it = torch.full((1,), -1.0, dtype=torch.float64)
for curvature in (0.0, 1.0):
    x, alpha = saddle_iteration(
        lambda x: x.sum() + curvature / 2 * x.square().sum(), not_negative,
        left_of_it, 0.2, 600)
    off = torch.hypot(x[-100:, 0], alpha[-100:] - 1)
    assert off.max() < 1e-6 if curvature else off.min() > 0.5
    first = torch.stack([x[1, 0], alpha[1]])  # both moved from the start
    torch.testing.assert_close(first.tolist(), [0.2 * curvature - 1.2, 0.2])

# %% [markdown]
# The multiplier really is a price: if the bound is relaxed to $c(\mathbf{x})\le b$, the minimum changes by $-\alpha b$ to first order.
#
# **Penalties.** Fix $\alpha$ in advance and minimize $f+\alpha c$ without a constraint.
# The minimizer $\mathbf{x}_\alpha$ solves a constrained problem exactly, though in general not the one with bound 0: if $c(\mathbf{x})\le c(\mathbf{x}_\alpha)$, then $f(\mathbf{x})\ge f(\mathbf{x}_\alpha)+\alpha\,(c(\mathbf{x}_\alpha)-c(\mathbf{x}))\ge f(\mathbf{x}_\alpha)$.
# This needs $\alpha\ge0$ but no convexity.
# The converse, a price that belongs to a given bound, is what the KKT conditions supply for convex problems that satisfy Slater's condition.

# %%
def minimize(f, x0):
    """A local minimizer of a smooth f, by L-BFGS (Section 12.3)."""
    x = x0.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=1000, max_eval=2000, history_size=20,
        tolerance_grad=1e-8, tolerance_change=0,
        line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = f(x)
        value.backward()
        return value
    optimizer.step(closure)
    return x.detach()


def penalty_path(f, c, alphas, x0):
    """The minimizers (len(alphas), d) of f + alpha c for each alpha."""
    return torch.stack([minimize(lambda x: f(x) + alpha * c(x), x0)
                        for alpha in alphas])


prices = [0.0, 1.0, 4.0, 9.0]
path = penalty_path(near(a), in_disc, prices, start)
torch.testing.assert_close(path[2], x_best)  # the same point as in C7
for alpha, x in zip(prices, path):
    torch.testing.assert_close(x, a / (1 + alpha))
minima = [near(a)((1 + 2 * b) ** 0.5 * x_best) for b in (-1e-4, 1e-4)]
assert abs((minima[1] - minima[0]) / 2e-4 + 4) < 1e-6  # the price
assert (start == 0).all() and not path.requires_grad

# %% [markdown]
# With $c(\mathbf{w})=\frac12\|\mathbf{w}\|^2$ the penalty is weight decay ([Section 3.7](../03-linear-regression/07-weight-decay.ipynb)): it bounds the norm of the weights, by a radius that follows from $\lambda$ and the data.
# Above, $\alpha=4$ gives radius 1 only for targets at distance 5.
# This holds for decay that is part of the loss.
# AdamW takes it out of the gradient: if it converges on full batches, with rates that do not rise and have an infinite sum, then to a KKT point of the loss in a box, $|w_i|\le1/\lambda$ (Xie and Li, 2024; [Section 12.10](10-adam.ipynb)).

# %% [markdown]
# ## Projections
#
# The third way: step as if there were no constraint, then return to the nearest permitted point.
# The *projection* of $\mathbf{x}$ on a closed convex set $\mathcal{X}$ is
#
# $$P(\mathbf{x})=\operatorname*{argmin}_{\mathbf{x}'\in\mathcal{X}}\|\mathbf{x}-\mathbf{x}'\|. \tag{12.2.10}$$
#
# There is exactly one such point: the squared distance is strongly convex.
# No point $\mathbf{y}$ of the set can be nearer, so moving from $P(\mathbf{x})$ towards $\mathbf{y}$ must not shorten the distance to $\mathbf{x}$:
#
# $$(\mathbf{x}-P(\mathbf{x}))^\top(\mathbf{y}-P(\mathbf{x}))\le0\quad\text{for all }\mathbf{y}\in\mathcal{X}. \tag{12.2.11}$$
#
# ![A convex set, a point x outside, its projection P(x) on the boundary, and a point y of the set. The angle at P(x) between the directions to x and to y is at least 90 degrees.](img/convex-projection.svg)
#
# **Figure 12.2.6.** What (12.2.11) says: seen from $P(\mathbf{x})$, the whole set lies behind the dashed line.
#
# Add (12.2.11) for $\mathbf{x}$ with $P(\mathbf{z})$ in the place of $\mathbf{y}$ to the same for $\mathbf{z}$ with $P(\mathbf{x})$.
# The result is $\|P(\mathbf{x})-P(\mathbf{z})\|^2\le(\mathbf{x}-\mathbf{z})^\top(P(\mathbf{x})-P(\mathbf{z}))$, and by the Cauchy-Schwarz inequality
#
# $$\|P(\mathbf{x})-P(\mathbf{z})\|\le\|\mathbf{x}-\mathbf{z}\|: \tag{12.2.12}$$
#
# projections never increase distances.
#
# For the ball $\|\mathbf{x}\|\le r$ the projection shortens, $\mathbf{x}\min(1,r/\|\mathbf{x}\|)$.
# With a gradient in place of $\mathbf{x}$ and the threshold $\theta$ in place of $r$ this is gradient clipping by norm ([Section 9.5](../09-recurrent-neural-networks/05-rnn-scratch.ipynb)); there it bounds a step, not the weights.

# %% tags=["export"]
def project_l2(x, radius):
    """The nearest point to x (d,) with Euclidean norm at most `radius`."""
    return x * (radius / x.norm()).clamp(max=1) if radius > 0 else 0 * x

# %%
# check 12.2-C4: the projection on a ball is gradient clipping
rng = torch.Generator().manual_seed(4)
for scale in (0.1, 10.0):  # inside and outside
    g = scale * torch.randn(5, generator=rng, dtype=torch.float64)
    weight = nn.Parameter(torch.zeros_like(g))
    weight.grad = g.clone()
    nn.utils.clip_grad_norm_([weight], max_norm=2.0)
    torch.testing.assert_close(weight.grad, project_l2(g, 2.0),
                               rtol=1e-6, atol=0)
    assert (g.norm() > 2) == (scale == 10) == (project_l2(g, 2.0) != g).all()
torch.testing.assert_close(project_l2(g, 2.0).norm().item(), 2.0)
kept = g.clone()
assert project_l2(g, 0.5).norm() < 0.5 + 1e-12 and (g == kept).all()
torch.testing.assert_close(project_l2(a, 0.5), a / 10)  # a = (3, 4)
zero = torch.zeros(3)
assert (project_l2(zero, 1) == 0).all() and (project_l2(zero, 0) == 0).all()
assert (project_l2(g, 0) == 0).all()

# %% [markdown]
# The ball of the 1-norm, $\sum_i|x_i|\le r$, is a diamond with corners on the axes.
# At the kink of $|x_i|$ the KKT conditions admit any slope between $-1$ and 1.
# For $\mathbf{x}$ outside, they say that the projection $\mathbf{z}$ moves every coordinate towards 0 by the same amount $\tau$, but not past 0,
#
# $$z_i=\operatorname{sign}(x_i)\max(|x_i|-\tau,0),\qquad\sum_i\max(|x_i|-\tau,0)=r, \tag{12.2.13}$$
#
# where $\tau>0$ is the multiplier.
# This is the soft threshold of the lasso ([Section 3.7](../03-linear-regression/07-weight-decay.ipynb)).
# To find $\tau$, sort the magnitudes, $u_1\ge u_2\ge\dots\ge u_d$.
# For every $k$, $\sum_{i\le k}(u_i-\tau)\le\sum_i\max(u_i-\tau,0)=r$, with equality where $k$ counts the coordinates that survive.
# Solved for $\tau$:
#
# $$\tau=\max_k\frac1k\Big(\sum_{i\le k}u_i-r\Big). \tag{12.2.14}$$
#
# For $(0.8,0.6,-0.1)$ and $r=1$ the candidates are $-0.2$, $0.2$ and $0.5/3$, so $\tau=0.2$ and $\mathbf{z}=(0.6,0.4,0)$.
# For a point inside the ball no candidate is positive, and the code moves nothing.

# %% tags=["export"]
def project_l1(x, radius):
    """The nearest point to x (d,) with sum of magnitudes at most `radius`.

    It moves all coordinates towards 0 by one amount, but not past 0.
    """
    sizes = x.abs()
    ordered = sizes.sort(descending=True).values
    counts = torch.arange(1, len(x) + 1, device=x.device)
    amount = ((ordered.cumsum(0) - radius) / counts).max().clamp(min=0)
    return x.sign() * (sizes - amount).clamp(min=0)

# %%
# check 12.2-C5: two values by hand, and the KKT conditions at random points
for x, z in (((0.8, 0.6, -0.1), (0.6, 0.4, 0.0)), ((2.0, 1.0), (1.0, 0.0))):
    torch.testing.assert_close(project_l1(torch.tensor(x), 1),
                               torch.tensor(z))
rng = torch.Generator().manual_seed(5)
for _ in range(200):
    x = torch.randn(8, generator=rng, dtype=torch.float64)
    radius = 8 * torch.rand((), generator=rng, dtype=torch.float64)
    kept = x.clone()
    z = project_l1(x, radius)
    moved = x - z
    tau = moved.abs().max()
    on = z != 0
    torch.testing.assert_close(moved[on], tau * z[on].sign())
    assert (moved.abs() <= tau).all() and (x == kept).all()
    assert (moved[~on] * x[~on] >= 0).all()  # no coordinate changes sign
    assert z.abs().sum() <= radius + 1e-12
    assert tau * (radius - z.abs().sum()) < 1e-12  # slackness
assert (project_l1(torch.tensor([2.0, -1.0]), 0) == 0).all()

# %%
# check 12.2-C6: projections never increase distances
growth = {}
for name, project in (("l2", project_l2), ("l1", project_l1)):
    pairs = 2 * torch.randn(200, 2, 4, generator=rng, dtype=torch.float64)
    moved = torch.stack([torch.stack([project(x, 1.5) for x in pair])
                         for pair in pairs])
    growth[name] = (moved[:, 0] - moved[:, 1]).norm(dim=1) / (
        pairs[:, 0] - pairs[:, 1]).norm(dim=1)
    assert growth[name].max() <= 1 and 0.2 < growth[name].mean() < 0.9

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.0, 3.3), layout="constrained")
rng = torch.Generator().manual_seed(0)
points = 5 * torch.rand(60, 2, generator=rng, dtype=torch.float64) - 2.5
lines = torch.linspace(-2.5, 2.5, 80, dtype=torch.float64)  # without 0
grid = torch.cartesian_prod(lines, lines)
zeros_drawn = []
for ax, project, name, corners in (
        (axes[0], project_l2, r"$\ell_2$ ball", 200),
        (axes[1], project_l1, r"$\ell_1$ ball", 4)):
    angle = torch.linspace(0, 2 * math.pi, corners + 1)
    near_grid = torch.stack([project(p, 1.0) for p in grid])
    outside = (near_grid - grid).norm(dim=1) > 1e-9
    flat = outside & (near_grid == 0).any(dim=1)
    zeros_drawn.append((flat.sum() / outside.sum()).item())
    ax.contourf(lines, lines, flat.reshape(80, 80).T, levels=[0.5, 1.5],
                colors=["C1"], alpha=0.18)
    ax.fill(angle.cos(), angle.sin(), color="C0", alpha=0.2)
    ends = torch.stack([project(p, 1.0) for p in points])
    ax.quiver(*points.T, *(ends - points).T, angles="xy", scale_units="xy",
              scale=1, width=0.004, color="#555555")
    ax.set(aspect="equal", title=name, xlabel="$x_1$", ylabel="$x_2$")
d2l.describe(axes, """Left, arrows lead from points of the plane straight to
    the nearest point of the unit disc. Right, the same for the diamond: from
    four shaded wedges around the axes, arrows end at a corner; from the
    areas between them, they meet an edge at a right angle.""")

# %% [markdown]
# **Figure 12.2.7.** Projections on the disc and on the diamond.
# From everywhere in the shaded wedges the nearest point is a corner, where a coordinate is 0.

# %% tags=["hide-input"]
# check: the disc makes no zeros, the diamond's wedges are |x1| - |x2| >= 1
wedge = (grid[:, 0].abs() - grid[:, 1].abs()).abs() >= 1
assert zeros_drawn[0] == 0 and zeros_drawn[1] > 0.3
assert ((near_grid == 0).any(dim=1) == wedge).all()

# %% [markdown]
# In many dimensions most coordinates can end at 0.
# For a vector of $d$ independent standard normal entries, the survivors are those above $\tau$: for large $d$ their share is $2\Phi(-\tau)$ at the radius $d\,E[\max(|g|-\tau,0)]$ with $g$ standard normal and $\Phi$ its distribution function.

# %%
rng = torch.Generator().manual_seed(7)
d, radii = 1000, (4, 16, 64, 160, 320, 480, 640, 760)
vectors = torch.randn(3, d, generator=rng, dtype=torch.float64)
share_l1, share_l2 = (torch.tensor(
    [[(project(v, r) != 0).double().mean() for r in radii] for v in vectors])
    for project in (project_l1, lambda v, r: project_l2(
        v, r * v.norm() / v.abs().sum())))  # shortened to the 1-norm r
tau = torch.linspace(0, 4, 200, dtype=torch.float64)
tail = torch.special.ndtr(-tau)
density = torch.exp(-tau**2 / 2) / math.sqrt(2 * math.pi)
theory_radius, theory_share = 2 * d * (density - tau * tail), 2 * tail

# %% tags=["hide-input"]
assert (share_l2 == 1).all()  # the control: shortening makes no zeros
order = theory_radius.argsort()
expected = torch.tensor([theory_share[order][torch.searchsorted(
    theory_radius[order], float(r))] for r in radii])
assert ((share_l1 - expected).abs() < 0.06).all()
assert (share_l1.diff(dim=1) > 0).all() and share_l1[:, 0].max() < 0.02
ax = d2l.plot(theory_radius, theory_share, xlabel="radius",
              ylabel="share of coordinates not 0")
for k in range(3):
    ax.plot(radii, share_l1[k], "o", ms=4, color="C1",
            label=r"$\ell_1$ ball" if k == 0 else None)
    ax.plot(radii, share_l2[k], "s", ms=4, color="C2", mfc="none",
            label="shortened" if k == 0 else None)
ax.lines[0].set_label(r"$\ell_1$, theory")
ax.legend(fontsize=8)
d2l.describe(ax, """The share of coordinates that are not 0 against the
    radius. For the l1 ball, dots of three vectors lie on the theoretical
    curve, which rises from 0 to 1; for the control it is 1 everywhere.""")

# %% [markdown]
# **Figure 12.2.8.** Three random vectors of 1000 entries, projected on 1-norm balls of growing radius.
# The control, the same vectors shortened to the same 1-norm, makes no zeros.

# %% [markdown]
# ## Projected gradient descent
#
# Alternate a gradient step and a projection:
#
# $$\mathbf{x}_{t+1}=P(\mathbf{x}_t-\eta\,\nabla f(\mathbf{x}_t)). \tag{12.2.15}$$
#
# By (12.2.11) the fixed points of this map are the points of $\mathcal{X}$ with $\nabla f(\mathbf{x}^*)^\top(\mathbf{y}-\mathbf{x}^*)\ge0$ for all $\mathbf{y}\in\mathcal{X}$; for convex $f$ these are the solutions, by (12.2.3).
# And (12.2.12) says that the projection cannot spoil convergence.
# For two points, $\nabla f(\mathbf{x})-\nabla f(\mathbf{z})=\bar{\mathbf{H}}(\mathbf{x}-\mathbf{z})$ with $\bar{\mathbf{H}}$ the mean Hessian on their segment, whose eigenvalues lie in $[\mu,L]$.
# So for $\eta\le1/L$ a step multiplies distances by at most $1-\eta\mu$, and with $\mathbf{z}=\mathbf{x}^*$
#
# $$\|\mathbf{x}_t-\mathbf{x}^*\|\le(1-\eta\mu)^t\,\|\mathbf{x}_0-\mathbf{x}^*\|. \tag{12.2.16}$$
#
# We measure this on least squares with 60 examples and 20 features, of which four matter: free, and in the two balls whose radius is half the norm of the free solution.

# %%
def projected_gd(f, project, x0, eta, steps):
    """The path (steps + 1, d) of gradient steps, each then projected."""
    path = [x0]
    for _ in range(steps):
        x = path[-1]
        path.append(project(x - eta * torch.func.grad(f)(x)))
    return torch.stack(path)


rng = torch.Generator().manual_seed(9)
A = torch.randn(60, 20, generator=rng, dtype=torch.float64)
w_true = torch.zeros(20, dtype=torch.float64)
w_true[:4] = torch.tensor([3.0, -2.0, 2.0, 1.0])
y = A @ w_true + torch.randn(60, generator=rng, dtype=torch.float64)


def squares(w):
    """Half the mean squared error of the weights w (20,)."""
    return 0.5 * (A @ w - y).square().mean()


origin = torch.zeros(20, dtype=torch.float64)
eigs = hessian_eigs(squares, origin)
mu, L = eigs[0], eigs[-1]
free = torch.linalg.lstsq(A, y[:, None]).solution[:, 0]
r1, r2 = free.abs().sum() / 2, free.norm() / 2
runs = {"free": lambda w: w,
        "2-norm ball": lambda w: project_l2(w, r2),
        "1-norm ball": lambda w: project_l1(w, r1)}
runs = {name: projected_gd(squares, project, origin, 1 / L, 600)
        for name, project in runs.items()}
for name, path in runs.items():
    print(f"{name:11} loss {squares(path[-1]):.2f}, "
          f"{(path[-1] != 0).sum()} of 20 weights not 0")

# %%
singular = torch.linalg.svdvals(A)
torch.testing.assert_close(torch.stack([L, mu]), singular[[0, -1]] ** 2 / 60)
in_l2, in_l1 = runs["2-norm ball"][-1], runs["1-norm ball"][-1]
assert all(path.shape == (601, 20) for path in runs.values())
torch.testing.assert_close(runs["free"][-1], free)
price = torch.func.grad(squares)(in_l1).abs().max()
lasso = Lasso(alpha=price.item(), fit_intercept=False, tol=1e-12,
              max_iter=100_000).fit(A, y)  # the penalty with that price
torch.testing.assert_close(in_l1, torch.from_numpy(lasso.coef_),
                           rtol=0, atol=1e-6)
price = torch.func.grad(squares)(in_l2).norm() / in_l2.norm()
H = A.T @ A / 60 + price * torch.eye(20, dtype=A.dtype)
ridge = torch.linalg.solve(H, A.T @ y / 60)  # and the squared penalty
torch.testing.assert_close(in_l2, ridge, rtol=0, atol=1e-9)
assert (in_l2 != 0).all() and (in_l1 != 0).sum() < 10
assert (in_l1[:3] != 0).all() and (free != 0).all()
torch.testing.assert_close(in_l1.abs().sum(), r1)
torch.testing.assert_close(in_l2.norm(), r2)
wider = projected_gd(squares, lambda w: project_l1(w, 1.8 * r1), origin,
                     1 / L, 600)[-1]
assert 10 < (wider != 0).sum() < 20  # at 0.9 of the free norm

# %% tags=["hide-input"]
# check: every run obeys the bound, and the free one has its rate
fig, ax = plt.subplots(figsize=(4.6, 2.9))
shown = 150
for (name, path), style in zip(runs.items(), ("-", "--", "-.")):
    error = (path - path[-1]).norm(dim=1)
    assert error[0] > 1 and error[-100:].max() < 1e-9 * error[0]  # arrived
    bound = error[0] * (1 - mu / L) ** torch.arange(len(path))
    assert (error[:shown] <= bound[:shown] * (1 + 1e-9)).all()
    ax.plot(error[:shown] / error[0], style, label=name)
    if name == "free":
        rate = (error[shown] / error[shown - 30]) ** (1 / 30)
        assert abs((1 - rate) / (mu / L) - 1) < 0.02
after_20 = [(path[20] - path[-1]).norm() for path in runs.values()]
assert max(after_20[1:]) < after_20[0] / 30  # the projected runs are faster
ax.plot((1 - mu / L) ** torch.arange(shown), color="#888888", lw=3,
        alpha=0.5, label="bound")
ax.set(yscale="log", xlabel="step", ylabel="relative distance",
       ylim=(1e-10, 2))
ax.legend(fontsize=8)
d2l.describe(ax, """The distance to the solution against steps on a logarithmic
    axis, relative to the start. The free run falls as a line parallel to the
    bound and below it; both projected runs fall faster.""")

# %% [markdown]
# **Figure 12.2.9.** Distance to the solution for (12.2.15) and the bound (12.2.16), at $\eta=1/L$.
#
# All three obey the bound; in this problem the constrained runs are even faster than the free one.
# At half the free norm, the solution in the 1-norm ball uses a minority of the features and the one in the 2-norm ball all of them; at 0.9 of it, the 1-norm ball keeps most of them, too.
# Both agree with a penalty at the right price, the lasso and ridge regression, fitted by other algorithms.

# %% [markdown]
# In the plane we can watch both sets shrink.
# The objective is a tilted quadratic with its minimum at $(2,1.2)$.

# %%
target = torch.tensor([2.0, 1.2], dtype=torch.float64)


def tilted(x):
    """A quadratic with curvatures 1/2 and 3/2 along the diagonals."""
    e1, e2 = x[0] - target[0], x[1] - target[1]
    return 0.5 * (e1**2 + e1 * e2 + e2**2)


torch.testing.assert_close(hessian_eigs(tilted, start),
                           torch.tensor([0.5, 1.5], dtype=torch.float64))
radii = [0.25 * k for k in range(1, 10)]
solutions = {project: torch.stack([
    projected_gd(tilted, lambda x: project(x, r), start, 2 / 3, 60)[-1]
    for r in radii]) for project in (project_l2, project_l1)}
slopes = torch.stack([torch.func.grad(tilted)(x)
                      for x in solutions[project_l2]])
prices = slopes.norm(dim=1) / torch.tensor(radii, dtype=torch.float64)
torch.testing.assert_close(  # the penalties with these prices, one by one
    penalty_path(tilted, in_disc, prices, start), solutions[project_l2])
one = radii.index(1.0)  # and, for radius 1, the saddle point
x, alpha = saddle_iteration(tilted, in_disc, start, 0.2, 600)
torch.testing.assert_close(x[-1], solutions[project_l2][one])
torch.testing.assert_close(alpha[-1], prices[one])
flat = solutions[project_l1][:, 1] == 0
assert flat.tolist() == [r <= 0.8 for r in radii]
assert (solutions[project_l2] > 0.05).all()
assert (solutions[project_l2].diff(dim=0) > 0.05).all()  # both shrink

# %% tags=["hide-input"]
def draw_sets(fig, radius):
    lines = torch.linspace(-1, 2.8, 60, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(lines, lines, indexing="xy"))
    k = radii.index(radius)
    for ax, (project, found), corners, name in zip(
            fig.subplots(1, 2), solutions.items(), (200, 4),
            (r"$\ell_2$ ball", r"$\ell_1$ ball")):
        angle = torch.linspace(0, 2 * math.pi, corners + 1)
        ax.fill(radius * angle.cos(), radius * angle.sin(), color="C0",
                alpha=0.2)
        levels = tilted(found[k]) * torch.tensor([0.25, 1.0, 2.0])
        ax.contour(lines, lines, tilted(grid), levels=levels.tolist(),
                   colors="#888888", linewidths=0.8)
        ax.plot(*target, "k*", ms=7)
        ax.plot(*found.T, ".-", color="C1", ms=4, lw=0.8)
        ax.plot(*found[k], "o", color="C1", ms=7)
        ax.set(aspect="equal", title=name, xlim=(-1, 2.8), ylim=(-1, 2.2),
               xlabel="$x_1$")
    fig.axes[0].set_ylabel("$x_2$")


d2l.sliders(draw_sets, """A disc and a diamond of adjustable radius, contours
    of a quadratic and its lowest point in each set. As the radius shrinks,
    the point in the disc moves along a curve to the centre; the point in the
    diamond reaches a corner on the first axis and stays on the axis.""",
            figsize=(5.2, 2.6), radius=radii)

# %% [markdown]
# **Figure 12.2.10.** The lowest point in a disc and in a diamond of the same radius: shrink it.
# The middle contour touches the set at the solution.
#
# In the disc, the projected iteration, the penalties at the right prices and, for radius 1, the saddle iteration agree.
# Up to radius 0.8 the lowest point of the diamond has $x_2=0$; in the disc both coordinates shrink together and neither becomes 0.

# %% [markdown]
# ## Where convexity is found in practice
#
# **The last layer.** With all other layers frozen, a network is a linear classifier on fixed features, and its cross-entropy is convex in the last weights; a penalty $\frac\lambda2\|\mathbf{w}\|^2$ makes it strongly convex with $\mu=\lambda$.
# So a method that converges must reach the same weights from every start.
# We freeze a random hidden layer of eight tanh units on the digits of scikit-learn, train the last layer from three starts, and as the control all layers from three starts, with the same penalty and the same method.

# %%
digits = load_digits()
X = torch.from_numpy(digits.data[:2 * images]) / 16
labels = torch.from_numpy(digits.target[:2 * images])
sizes = [64 * 8, 8, 8 * 10, 10]  # weights and biases of both layers


def scores(theta, X):
    """Scores (n, 10) of a network with 8 hidden units, theta (610,)."""
    W1, b1, W2, b2 = theta.split(sizes)
    hidden = torch.tanh(X @ W1.reshape(64, 8) + b1)
    return hidden @ W2.reshape(8, 10) + b2


def digit_loss(theta):
    """Cross-entropy on the first digits and a penalty."""
    return F.cross_entropy(scores(theta, X[:images]), labels[:images]) + (
        0.01 / 2 * theta.square().sum())


def starts(count, size, seed):
    rng = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(count, size, generator=rng, dtype=torch.float64)


frozen = starts(1, 520, seed=0)[0]
ends = {"last layer": [torch.cat([frozen, minimize(
    lambda w: digit_loss(torch.cat([frozen, w])), w)])
    for w in starts(3, 90, seed=1)],
    "all layers": [minimize(digit_loss, t) for t in starts(3, 610, seed=1)]}

# %% tags=["chaotic"]
# check: one value from all starts, several values without convexity
for name, thetas in ends.items():
    losses = torch.stack([digit_loss(theta) for theta in thetas])
    slopes = torch.stack([torch.func.grad(digit_loss)(theta)
                          for theta in thetas])
    trained = slopes[:, -90:] if name == "last layer" else slopes
    assert trained.abs().max() < 1e-6  # converged
    each = F.cross_entropy(scores(thetas[0], X), labels, reduction="none")
    torch.testing.assert_close(  # the first half of the digits trains
        losses[0], each[:images].mean() + 0.005 * thetas[0] @ thetas[0])
    print(name, [f"{loss:.5f}" for loss in losses.tolist()])
    if name == "last layer":
        curvatures = hessian_eigs(
            lambda w: digit_loss(torch.cat([frozen, w])), thetas[0][-90:])
        assert abs(curvatures[0] - 0.01) < 1e-6  # mu is the penalty's
        assert losses.max() - losses.min() < 1e-9
        assert all((t - thetas[0]).norm() < 1e-4 for t in thetas)
        optimum = losses[0]
    elif images >= 300:
        assert losses.sort().values.diff().min() > 1e-6  # three values
        assert all(hessian_eigs(digit_loss, t)[0] > 0 for t in thetas)
        assert losses.max() < 1.05 * losses.min() and (
            losses.max() < optimum / 2)

# %% [markdown]
# The last layer reaches one point from all starts; the whole network ends in three local minima with different losses.
# They differ by less than 5 %, and all are below half the optimum of the convex problem, which trains only 90 of the 610 parameters: a unique optimum need not be a low one.
# Retraining only the last layer is a method of its own, for example against misleading backgrounds (Kirichenko and others, 2023).
#
# **Temperature.** A trained classifier can be calibrated by dividing its scores by a number $T>0$ that minimizes the cross-entropy on held-out data (Guo and others, 2017; [Section 4.5](../04-linear-classification/05-softmax-regression-concise.ipynb)).
# In $\beta=1/T$ the scores are linear, so the problem is convex by the third rule.
# In $T$ itself it is not, if a finite $T$ is the only best one: a convex function that has begun to rise goes on at that slope or a steeper one, but as $T$ grows, all $q$ classes become equally probable and the loss tends to $\log q$.
# To have something to correct, we multiply the scores of our classifier by eight.

# %%
with torch.no_grad():
    held_out = 8 * scores(ends["last layer"][0], X[images:])  # overconfident
truth = labels[images:]


def loss_at(beta):
    """Held-out cross-entropy (n,) of the scores times beta (n,)."""
    s = beta[:, None, None] * held_out
    return (s.logsumexp(dim=2) - s[:, range(len(truth)), truth]).mean(dim=1)


def loss_at_temperature(T):
    return loss_at(1 / T)


rng = torch.Generator().manual_seed(11)
beta = torch.linspace(0.05, 1.5, 300, dtype=torch.float64)
best = beta[loss_at(beta).argmin()]
assert 0.1 < best < 0.9  # overconfident: the best temperature exceeds 1
assert violating_chord(loss_at, 0.01, 2, 1000, rng) is None
chord = violating_chord(loss_at_temperature, 0.5, 100, 1000, rng)
assert chord is not None
torch.testing.assert_close(loss_at_temperature(beta[:3])[2],
                           F.cross_entropy(held_out / beta[2], truth))

# %% tags=["hide-input"]
fig, (ax, right) = plt.subplots(1, 2, figsize=(7.0, 2.7))
T = torch.logspace(-0.3, 2, 200, dtype=torch.float64)
d2l.plot(beta, loss_at(beta), xlabel=r"$\beta=1/T$",
         ylabel="held-out loss", ax=ax)
ax.plot(best, loss_at(best[None])[0], "ko")
d2l.plot(T, loss_at_temperature(T), xlabel="temperature $T$", ax=right)
right.axhline(math.log(10), color="#888888", lw=0.8)
right.plot(1 / best, loss_at(best[None])[0], "ko")
pair = torch.stack(chord[:2])
right.plot(pair, loss_at_temperature(pair), "o--", color="C1", ms=4)
d2l.describe(fig, """Left, the held-out loss against the inverse temperature: a
    convex valley. Right, the same loss against the temperature: after its
    minimum it rises, bends and approaches log 10 from below, and crosses a
    dashed chord.""")

# %% [markdown]
# **Figure 12.2.11.** One calibration problem in two variables: convex in $1/T$ (left), not in $T$ (right), where the dashed chord lies below the graph.
#
# Convexity is thus a property of a function and its variables.
# Theory for convex functions also reaches beyond them, without a guarantee: in experiments with language models of 124 and 210 million parameters, the effect of learning rate schedules resembled a bound proved for convex functions that need not be smooth (Schaipp and others, 2025).

# %% [markdown]
# ## Summary
#
# - A search for a violated chord refutes convexity; only an argument, such as a rule of composition, proves it.
# - For convex functions local minima are global and tangents are lower bounds; $\mu$ and $L$ add parabolas below and above.
# - A multiplier is the price of a constraint and 0 where the constraint is slack; a penalty is a constraint whose bound depends on the data.
# - Projections never increase distances, so projected gradient descent keeps the rate $1-\eta\mu$.
# - Projection on the 1-norm ball subtracts one amount from all magnitudes and thereby makes zeros; on the 2-norm ball it shortens, as gradient clipping does.
# - A last layer, and a calibration in $1/T$, are convex problems inside deep learning.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.2-1
#
# Prove that $\{\mathbf{x}\in\mathbb{R}^d:\sum_i|x_i|^p\le1\}$ is convex for $p\ge1$.
# For $p=\frac12$ find a chord that leaves the set, in every dimension $d\ge2$.

# %% [markdown]
# #### Solution 12.2-1

# %% [markdown]
# For $p\ge1$ the function $|t|^p$ is convex: its slope $p\,|t|^{p-1}\operatorname{sign}t$ does not fall.
# Each $|x_i|^p$ is convex in $\mathbf{x}$ by the third rule, their sum by the first, and the ball is a sublevel set.
# For $p=\frac12$ take two unit vectors of the axes: at the share $s$ the sum is $\sqrt s+\sqrt{1-s}=\sqrt{1+2\sqrt{s(1-s)}}$, above 1 for all $0<s<1$.

# %%
rng = torch.Generator().manual_seed(21)
for d in (2, 5):
    cube = 2 * torch.rand(20_000, d, generator=rng) - 1
    for p, leaves in ((0.5, True), (1, False), (1.5, False), (4, False)):
        edge = cube / cube.abs().pow(p).sum(dim=1, keepdim=True) ** (1 / p)
        assert p_ball(p)(edge).all() and not p_ball(p)(1.01 * edge).any()
        assert (len(mixtures_outside(p_ball(p), edge, rng)) > 0) == leaves
    s = torch.rand(50, 1, generator=rng)
    chord = s * torch.eye(d)[0] + (1 - s) * torch.eye(d)[1]
    torch.testing.assert_close(
        chord.sqrt().sum(dim=1), (1 + 2 * (s * (1 - s)).sqrt()).sqrt()[:, 0])
    assert not p_ball(0.5)(chord).any()

# %% [markdown]
# ### Exercise 12.2-2
#
# Show that the projection on the subspace $\{\mathbf{x}:\mathbf{W}\mathbf{x}=\mathbf{0}\}$, with $\mathbf{W}$ of shape $(m,d)$, is $\mathbf{I}-\mathbf{W}^+\mathbf{W}$, where $\mathbf{W}^+$ is the pseudoinverse.

# %% [markdown]
# #### Solution 12.2-2

# %% [markdown]
# The constraints are equations, so their multipliers $\boldsymbol\alpha\in\mathbb{R}^m$ may have any sign: $\mathbf{x}'-\mathbf{x}+\mathbf{W}^\top\boldsymbol\alpha=\mathbf{0}$ and $\mathbf{W}\mathbf{x}'=\mathbf{0}$.
# So $\mathbf{x}$ splits into $\mathbf{x}'$ and a combination of the rows of $\mathbf{W}$, and $\mathbf{x}'$ is what least squares leaves when it fits $\mathbf{x}$ by those rows.
# The matrix $\mathbf{W}^+\mathbf{W}$ is the orthogonal projection on the row space, also if the rows are dependent.

# %%
rng = torch.Generator().manual_seed(22)
W = torch.randn(3, 6, generator=rng, dtype=torch.float64)
W = torch.cat([W, W[:1] - W[1:2]])  # a dependent row
P = torch.eye(6, dtype=W.dtype) - torch.linalg.pinv(W) @ W
for x in torch.randn(20, 6, generator=rng, dtype=W.dtype):
    fit = torch.linalg.lstsq(W.T, x[:, None], driver="gelsd").solution
    torch.testing.assert_close(P @ x, x - (W.T @ fit)[:, 0])
torch.testing.assert_close(P @ P, P)
torch.testing.assert_close(P.T, P)
assert (W @ P).abs().max() < 1e-13 and abs(P.trace() - 3) < 1e-12

# %% [markdown]
# ### Exercise 12.2-3
#
# Project on the simplex $\{\mathbf{p}:p_i\ge0,\ \sum_ip_i=1\}$, and compare with softmax.
# Which of the two can return a 0, and what does each maximize?

# %% [markdown]
# #### Solution 12.2-3

# %% [markdown]
# The conditions are those of the diamond without signs: $p_i=\max(x_i-\tau,0)$ with $\sum_ip_i=1$, where $\tau$ may be negative.
# The argument for (12.2.14) gives $\tau=\max_k\frac1k(\sum_{i\le k}u_i-1)$ for the sorted entries $u_i$.
# Since $-\frac12\|\mathbf{x}-\mathbf{p}\|^2$ differs from $\mathbf{x}^\top\mathbf{p}-\frac12\|\mathbf{p}\|^2$ by a constant, the projection maximizes the latter.
# Softmax maximizes $\mathbf{x}^\top\mathbf{p}+H(\mathbf{p})$ with the entropy $H(\mathbf{p})=-\sum_ip_i\log p_i$: this function is concave, and its slopes $x_i-\log p_i-1$ are all equal, as the constraint $\sum_ip_i=1$ requires, where $p_i$ is proportional to $e^{x_i}$.
# So the projection can return a 0, and softmax returns none, except by rounding: in single precision, the scores 0 and $-200$ give exactly 1 and 0.
# As a layer, this projection is called *sparsemax* (Martins and Astudillo, 2016).

# %%
def project_simplex(x):
    """The nearest probability vector to x (d,)."""
    counts = torch.arange(1, len(x) + 1)
    excess = (x.sort(descending=True).values.cumsum(0) - 1) / counts
    return (x - excess.max()).clamp(min=0)


rng = torch.Generator().manual_seed(23)
rivals = -torch.rand(5000, 6, generator=rng, dtype=torch.float64).log()
rivals = rivals / rivals.sum(dim=1, keepdim=True)  # uniform on the simplex
with_zeros = 0
for x in torch.randn(100, 6, generator=rng, dtype=torch.float64):
    p, soft = project_simplex(x), x.softmax(dim=0)
    torch.testing.assert_close(p.sum().item(), 1.0)
    gap = x - p  # KKT: tau where p > 0, at most tau elsewhere
    torch.testing.assert_close(gap[p > 0], gap.max().expand((p > 0).sum()))
    entropy = torch.special.entr(rivals).sum(dim=1)
    assert (rivals @ x - rivals.square().sum(dim=1) / 2
            <= x @ p - p.square().sum() / 2).all()
    assert (rivals @ x + entropy <= x @ soft
            + torch.special.entr(soft).sum() + 1e-12).all()
    with_zeros += (p == 0).any().item()
    assert (soft > 0).all() and p.argmax() == soft.argmax()
assert with_zeros > 50
assert torch.tensor([0.0, -200.0]).softmax(dim=0).tolist() == [1, 0]

# %% [markdown]
# ### Exercise 12.2-4
#
# Is the cross-entropy of a network with one hidden layer convex in its weights?
# Search for a violated chord, and then name one without searching.
# What changes if only the last layer may move?

# %% [markdown]
# #### Solution 12.2-4

# %% [markdown]
# No: a random search finds violations at once.
# To name one, take trained weights and flip all signs of the weights and biases around the tanh units.
# The outputs stay the same, so both ends of the chord have the same low loss, but in the middle all these weights are 0 and the network predicts the same for all inputs.
# If only the last layer moves, the problem is convex, and the same search finds nothing.

# %%
rng = torch.Generator().manual_seed(24)
points = torch.randn(40, 2, generator=rng, dtype=torch.float64)
classes = (points[:, 0] * points[:, 1] > 0).long()


def small_loss(theta):
    """Cross-entropy (n,) of n networks with 3 hidden units, theta (n, 17)."""
    W1, b1, W2, b2 = theta.split([6, 3, 6, 2], dim=1)
    hidden = torch.tanh(points @ W1.reshape(-1, 2, 3) + b1[:, None])
    logits = hidden @ W2.reshape(-1, 3, 2) + b2[:, None]  # (n, 40, 2)
    return F.cross_entropy(logits.mT, classes.expand(len(theta), -1),
                           reduction="none").mean(dim=1)


hi = torch.full((17,), 2.0)
a, b, s = violating_chord(small_loss, -hi, hi, 1000, rng)
at_mixture, at_a, at_b = small_loss(torch.stack([torch.lerp(b, a, s), a, b]))
violation = at_mixture - torch.lerp(at_b, at_a, s)
fixed = 2 * torch.randn(9, generator=rng, dtype=torch.float64)


def last_loss(w):
    return small_loss(torch.cat([fixed.expand(len(w), -1), w], dim=1))


assert violation > 0.1
assert violating_chord(last_loss, -hi[:8], hi[:8], 1000, rng) is None

# %%
def penalized(theta):
    return small_loss(theta[None])[0] + 0.001 * theta.square().sum()


trained = minimize(penalized, torch.randn(17, generator=rng,
                                          dtype=torch.float64))
mirror = trained.clone()
mirror[:15] *= -1  # all but the last biases
triple = torch.stack([trained, mirror, (trained + mirror) / 2])
low, same, middle = small_loss(triple).tolist()
print(f"violation found {violation:.2f}; trained {low:.3f}, "
      f"mirrored {same:.3f}, between {middle:.3f}")
assert abs(low - same) < 1e-12 and low < 0.4 and middle > low + 0.2

# %% [markdown]
# ## Sources
#
# - S. Boyd and L. Vandenberghe, *Convex Optimization*, Cambridge University Press, 2004, [book](https://web.stanford.edu/~boyd/cvxbook/): conditions, rules of composition, KKT.
# - A. A. Ahmadi, A. Olshevsky, P. A. Parrilo and J. N. Tsitsiklis, *NP-hardness of deciding convexity of quartic polynomials and related problems*, Mathematical Programming 137 (2013), [arXiv:1012.1908](https://arxiv.org/abs/1012.1908).
# - CVXPY, [Disciplined convex programming](https://www.cvxpy.org/tutorial/dcp/index.html): rules by which a program knows that a problem is convex.
# - J. L. W. V. Jensen, *Sur les fonctions convexes et les inégalités entre les valeurs moyennes*, Acta Mathematica 30 (1906), [doi:10.1007/BF02418571](https://doi.org/10.1007/BF02418571); O. Hölder, *Ueber einen Mittelwerthssatz*, Nachrichten der Königlichen Gesellschaft der Wissenschaften zu Göttingen (1889).
# - R. W. Cottle, *William Karush and the KKT theorem*, Documenta Mathematica, Extra Volume (2012): the thesis of 1939 and the paper of 1951.
# - J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, *Efficient projections onto the ℓ1-ball for learning in high dimensions*, ICML 2008, [doi:10.1145/1390156.1390191](https://doi.org/10.1145/1390156.1390191); L. Condat, *Fast projection onto the simplex and the ℓ1 ball*, Mathematical Programming 158 (2016), [doi:10.1007/s10107-015-0946-6](https://doi.org/10.1007/s10107-015-0946-6): faster than sorting, and the maximum in (12.2.14).
# - R. Tibshirani, *Regression shrinkage and selection via the lasso*, Journal of the Royal Statistical Society B 58 (1996): the bound on the sum of magnitudes, and its zeros.
# - A. F. T. Martins and R. F. Astudillo, *From softmax to sparsemax: a sparse model of attention and multi-label classification*, ICML 2016, [arXiv:1602.02068](https://arxiv.org/abs/1602.02068).
# - S. Xie and Z. Li, *Implicit bias of AdamW: $\ell_\infty$ norm constrained optimization*, ICML 2024, [arXiv:2404.04454](https://arxiv.org/abs/2404.04454).
# - R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013, [arXiv:1211.5063](https://arxiv.org/abs/1211.5063): clipping the norm of the gradient.
# - C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, *On calibration of modern neural networks*, ICML 2017, [arXiv:1706.04599](https://arxiv.org/abs/1706.04599).
# - P. Kirichenko, P. Izmailov and A. G. Wilson, *Last layer re-training is sufficient for robustness to spurious correlations*, ICLR 2023, [arXiv:2204.02937](https://arxiv.org/abs/2204.02937).
# - F. Schaipp, A. Hägele, A. Taylor, U. Simsekli and F. Bach, *The surprising agreement between convex optimization theory and learning-rate scheduling for large model training*, ICML 2025, [arXiv:2501.18965](https://arxiv.org/abs/2501.18965).
