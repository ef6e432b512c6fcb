# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         repeats: 1000
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
# # 2.6 Probability and statistics
#
# A model that predicts should say how sure it is, and a measured number should come with its uncertainty.
# Probability is the language for both.
# This section sets out its few rules, uses them on a question that many people get wrong, and computes expectations and variances exactly and by simulation.

# %% [markdown]
# **You will**
#
# - estimate probabilities from data, and say how far the estimate can be off;
# - compute with joint, marginal and conditional probabilities, and turn them around by Bayes' theorem;
# - tell independence from conditional independence, and no correlation from no dependence;
# - compute expectations and variances, exactly and by simulation, without losing digits.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch.distributions import Exponential, Normal

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
repeats = 4000  # repetitions of each experiment in the check of the spread

# %% [markdown]
# ## Tossing coins
#
# Toss a coin ten times and count the heads: five, perhaps, or seven.
# The *probability* of heads, one half for a fair coin, is a property of the coin and of the way it is tossed.
# The *frequency*, the share of heads in the tosses, is a property of the data, a *statistic*.
# When a statistic is used in order to learn about a probability, it is called an *estimator*.

# %%
def toss(n, p, generator):
    """n tosses, 1 for heads with probability p, shape (n,)."""
    return (torch.rand(n, generator=generator) < p).float()

# %%
# check 2.6-C8: the frequency in 10 000 tosses is close to one half
rng = torch.Generator().manual_seed(1)
heads = toss(10_000, 0.5, rng)
print(f"10 tosses: {heads[:10].mean():.2f}, "
      f"10 000 tosses: {heads.mean():.4f}")
assert abs(heads.mean() - 0.5) < 0.02
bent = toss(10_000, 0.2, torch.Generator().manual_seed(1))
assert abs(bent.mean() - 0.2) < 0.02 and bent.unique().tolist() == [0, 1]
again = toss(10_000, 0.5, torch.Generator().manual_seed(1))
assert torch.equal(again, heads)  # the generator decides

# %% [markdown]
# With more and more independent tosses the frequency tends to the probability: this is the *law of large numbers*.

# %% tags=["hide-input"]
n = torch.arange(1, 10_001)
rng = torch.Generator().manual_seed(3)
paths = torch.stack([toss(10_000, 0.5, rng).cumsum(0) / n
                     for _ in range(5)])
outside = (paths - 0.5).abs() > 1 / n.sqrt()  # (5, 10000)
assert outside.any(dim=1).all() and not outside[:, -1].any()
_, ax = plt.subplots()
ax.fill_between(n, 0.5 - 1 / n.sqrt(), 0.5 + 1 / n.sqrt(), color="#dddddd")
for path in paths:
    ax.plot(n, path, lw=1)
ax.axhline(0.5, color="black", lw=0.8)
ax.set(xscale="log", ylim=(0, 1), xlim=(1, 10_000), xlabel="tosses",
       ylabel="frequency of heads")
d2l.describe(ax, "The running frequency of heads in five series of tosses. "
             "At first they scatter over the whole range, then they gather "
             "around one half, mostly inside a grey funnel that narrows; "
             "each of them leaves it for a while.")

# %% [markdown]
# **Figure 2.6.1.** Five series of tosses, and the funnel $0.5\pm1/\sqrt n$.
# Why it narrows like this, and how often a series leaves it, is computed at the end of the section.

# %% [markdown]
# What does the number mean?
# To a *frequentist* a probability is the frequency in the long run.
# To a *Bayesian* it is a degree of belief, which also makes sense for an event that happens once, such as rain tomorrow.
# The rules of calculation are the same.

# %% [markdown]
# ## The rules
#
# An experiment has *outcomes*; together they form the *sample space* $\mathcal{S}$, for a die $\{1,2,3,4,5,6\}$.
# An *event* is a subset of it: $\{5\}$, or $\{1,3,5\}$ for "odd".
# An event has occurred if the outcome lies in it; if the die shows 3, then "odd" has occurred.
# A probability assigns a number to each event in such a way that (Kolmogorov, 1933)
#
# $$
# P(\mathcal{A})\ge0, \qquad P(\mathcal{S})=1, \qquad P\Big(\bigcup_i\mathcal{A}_i\Big)=\sum_iP(\mathcal{A}_i) \tag{2.6.1}
# $$
#
# for events $\mathcal{A}$, and for any sequence of events $\mathcal{A}_1,\mathcal{A}_2,\dots$ no two of which can occur together.
# The other rules follow: $P(\emptyset)=0$; the *complement* of an event has the probability $1-P(\mathcal{A})$; and $P(\mathcal{A}\cup\mathcal{B})\le P(\mathcal{A})+P(\mathcal{B})$ for all events, the *union bound*.
#
# ![A box with six dice faces, the sample space. A blue region holds 1, 3 and 5, the event odd. A dashed orange region holds 5 and 6, the event large. The face 5 lies in both; 2 and 4 lie in neither.](img/prob-events.svg)
#
# **Figure 2.6.2.** Two events as sets of outcomes.
# They overlap in 5, so they can occur together.

# %% [markdown]
# ### Random variables
#
# A *random variable* $X$ is a quantity whose value depends on the outcome.
# We write $P(X=a)$ for the probability of the event that it takes the value $a$, in short $P(a)$; $P(X)$ for its whole distribution; and $P(1\le X\le3)$ for the probability of the event that its value lies in this range.
#
# The points of a die are *discrete*.
# A height is *continuous*: that somebody is exactly 1.80 m tall, to infinitely many digits, has probability 0.
# Ranges have positive probability, and it is the integral of a *density* $p$,
#
# $$
# P(a\le X\le b)=\int_a^b p(x)\,dx, \tag{2.6.2}
# $$
#
# with numbers $a\le b$.
# A density is not a probability, and it may exceed 1.
# As a function of the parameters, with the data held fixed, it is called the *likelihood*; [Section 3.1](../03-linear-regression/01-linear-regression.ipynb) and [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb) make it a loss.
#
# The best-known density is the *normal* one, $p(x)=\frac1{\sqrt{2\pi}\,\sigma}\,e^{-(x-\mu)^2/(2\sigma^2)}$, a bell around the number $\mu$, whose width is set by the number $\sigma>0$; they turn out to be the mean and the standard deviation, which are defined below.
# Let heights be normal with $\mu=1.75$ and $\sigma=0.07$ metres.

# %%
# check 2.6-C11: the probability of a range, and a density above 1
height = Normal(torch.tensor(1.75, dtype=f64), torch.tensor(0.07, dtype=f64))
values = torch.tensor([1.79, 1.81, 1.80], dtype=f64)
low, high = height.cdf(values[:2]).tolist()
density = height.log_prob(values[2]).exp().item()
print(f"P(1.79 <= X <= 1.81) = {high - low:.4f}, density {density:.3f}")
assert abs(high - low - 0.0882) < 5e-5 and abs(density - 4.416) < 5e-4
formula = math.exp(-(0.05**2) / (2 * 0.07**2)) / (2 * math.pi) ** 0.5 / 0.07
assert math.isclose(density, formula)

# %% tags=["hide-input"]
x = torch.linspace(1.5, 2.0, 300, dtype=f64)
ax = d2l.plot(x, height.log_prob(x).exp(), xlabel="height (m)",
              ylabel="density (1/m)")
part = (x >= 1.79) & (x <= 1.81)
ax.fill_between(x[part], height.log_prob(x[part]).exp(), color="#E69F00")
ax.annotate("9 %", (1.8, 2.2), (1.9, 3.2), arrowprops={"arrowstyle": "->"})
d2l.describe(ax, "The bell curve of heights, with a peak above 5 at 1.75 "
             "metres. A narrow strip from 1.79 to 1.81 metres is filled; "
             "its area is about 9 per cent.")

# %% [markdown]
# **Figure 2.6.3.** The probability of a range is an area.
# The curve rises above 5 because its unit is one over a metre.

# %% [markdown]
# ## Several random variables
#
# ### Joint, marginal, conditional
#
# The *joint probability* $P(A=a,B=b)$ is that of both.
# It cannot exceed $P(A=a)$.
# The *conditional probability* of $B=b$ given $A=a$ is the share that $B=b$ has in $A=a$,
#
# $$
# P(B=b\mid A=a)=\frac{P(A=a,B=b)}{P(A=a)}, \tag{2.6.3}
# $$
#
# a number between 0 and 1, defined where $P(A=a)>0$.
# Multiply by the denominator, once for each order of the two variables:
#
# $$
# P(A,B)=P(B\mid A)\,P(A)=P(A\mid B)\,P(B). \tag{2.6.4}
# $$
#
# Divide, and you have the theorem of Bayes, which turns conditional probabilities around:
#
# $$
# P(A\mid B)=\frac{P(B\mid A)\,P(A)}{P(B)}, \qquad P(B)>0. \tag{2.6.5}
# $$
#
# $P(A)$ is the *prior*, what was believed before $B$ was seen; $P(B\mid A)$ is the *likelihood*; $P(A\mid B)$ is the *posterior*.
# The denominator, the *evidence*, does not depend on $A$, and so one often writes $P(A\mid B)\propto P(B\mid A)\,P(A)$ and divides by the sum in the end.
# It is found by *marginalization*, adding up the joint probability over all values of the other variable: $P(B)=\sum_AP(A,B)$.

# %%
def posterior(prior, likelihood):
    """P(A | B) for all k values of A, from P(A) and P(B | A), (k,)."""
    joint = prior * likelihood  # (k,)
    return joint / joint.sum()

# %% [markdown]
# ### A test is positive
#
# Suppose that a test for HIV finds every infection and is wrong for 1 % of the healthy, and that 0.15 % of the population are infected; the numbers are made up.
# Somebody tests positive.
# How likely is an infection?
# Asked a question of this kind, fewer than a fifth of 60 physicians and students of a medical school were right, and the most frequent answer was far too high ([Casscells and others, 1978](https://doi.org/10.1056/NEJM197811022991808)).
#
# Let $H=1$ mean infected and $D_1=1$ mean that the test is positive: $P(H=1)=0.0015$, $P(D_1=1\mid H=1)=1$ and $P(D_1=1\mid H=0)=0.01$.
# A second, different test has the rates $0.98$ and $0.03$.

# %%
prior = torch.tensor([0.9985, 0.0015], dtype=f64)  # H = 0, 1
first = torch.tensor([0.01, 1.0], dtype=f64)       # P(D1 = 1 | H)
second = torch.tensor([0.03, 0.98], dtype=f64)     # P(D2 = 1 | H)
after_one = posterior(prior, first)[1].item()
after_two = posterior(prior, first * second)[1].item()
print(f"infected after one positive test: {after_one:.6f}, "
      f"after two: {after_two:.6f}")

# %%
# check 2.6-C1: evidence and posteriors to six digits
assert math.isclose((prior * first).sum().item(), 0.011485)
assert abs(after_one - 0.130605) < 5e-7
both = (prior * first * second).sum().item()
assert math.isclose(both, 0.00176955) and abs(after_two - 0.830720) < 5e-7

# %% [markdown]
# Thirteen per cent, not 99.
# The reason is easier to see in people than in percentages.
# Of 10 000 people 15 are infected, and all of them test positive.
# Of the 9985 healthy ones 1 % test positive too, about 100.
# So about 115 people hold a positive result, and 15 of them are infected.

# %%
# check 2.6-C5: fifteen ill, 99.85 healthy ones with a positive test
ill = 10_000 * prior[1].item()
false_alarms = 10_000 * (prior[0] * first[0]).item()
print(f"{ill:.0f} infected, {false_alarms:.2f} false alarms")
assert math.isclose(ill, 15) and math.isclose(false_alarms, 99.85)
assert math.isclose(ill / (ill + false_alarms), after_one)

# %% tags=["hide-input"]
def draw(fig, infected):
    """10 000 people as cells: infected, false alarms, all others."""
    ax, ill = fig.subplots(), round(infected)
    alarms = round((10_000 - ill) * 0.01)
    p = torch.tensor([1 - ill / 10_000, ill / 10_000], dtype=f64)
    assert abs(posterior(p, first)[1] - ill / (ill + alarms)) < 1e-3
    row, col = torch.meshgrid(torch.arange(100), torch.arange(100),
                              indexing="ij")
    ring = torch.maximum(row, col)  # fill from one corner
    order = (ring * 1000 + row - col).flatten().argsort(stable=True)
    colors = torch.full((10_000, 3), 0.91)
    colors[order[:ill]] = torch.tensor([0.84, 0.37, 0.0])
    colors[order[ill:ill + alarms]] = torch.tensor([0.34, 0.71, 0.91])
    ax.imshow(colors.reshape(100, 100, 3), origin="lower")
    for edge in range(1, 100):  # a grid, so that people can be counted
        ax.axhline(edge - 0.5, color="white", lw=0.4)
        ax.axvline(edge - 0.5, color="white", lw=0.4)
    ax.set_title(f"{ill} infected, {alarms} false alarms: "
                 f"{ill / (ill + alarms):.0%} of the positives are infected",
                 fontsize=9)
    ax.axis("off")


d2l.sliders(draw, """Ten thousand people as cells of a square. A corner in
    orange are the infected, around it in blue the healthy people with a
    positive test; all others are grey. The title tells the share of
    infected among the positives.""", figsize=(4.4, 3.9),
    infected=[1, 5, 15, 100, 1000])

# %% [markdown]
# **Figure 2.6.4.** Ten thousand people, infected in orange and false alarms in blue.
# The rarer the disease, the larger the share of false alarms among the positive results, as long as the test gives any.

# %% [markdown]
# A second test helps, and there are two ways to use it: both results at once, or one after the other, with the first posterior as the new prior.
# They agree, because the order of factors in a product does not matter.
# A positive second test alone would have said less than a positive first one.

# %%
# check 2.6-C2: updating one after the other gives the same
step = posterior(posterior(prior, first), second)[1].item()
assert math.isclose(step, after_two)

# %%
# check 2.6-C3: the second test alone
alone = posterior(prior, second)[1].item()
print(f"after the second test alone: {alone:.6f}")
assert abs(alone - 0.046778) < 5e-7

# %% [markdown]
# ### Independence
#
# $A$ and $B$ are *independent*, $A\perp B$, if $P(A,B)=P(A)\,P(B)$; equivalently, $P(A\mid B)=P(A)$: learning $B$ tells us nothing about $A$.
# Two throws of a die are independent; the light switch and the brightness of a room are not.
#
# They are *conditionally independent* given $C$, $A\perp B\mid C$, if $P(A,B\mid C)=P(A\mid C)\,P(B\mid C)$.
# Neither implies the other.
# We multiplied the likelihoods of the two tests, and that was such an assumption: *given* the state of health, the errors of the tests are independent.
# Without it, they are far from independent, since both depend on the health.

# %%
# check 2.6-C4: independent given H, and not without it
joint = (prior[:, None, None] * torch.stack([1 - first, first], 1)[:, :, None]
         * torch.stack([1 - second, second], 1)[:, None, :])  # (H, D1, D2)
torch.testing.assert_close(joint.sum(), torch.tensor(1.0, dtype=f64))
marginal = joint.sum(dim=0)  # (D1, D2)
product = marginal.sum(1)[1] * marginal.sum(0)[1]
print(f"both positive: {marginal[1, 1]:.2e}, product {product:.2e}")
assert abs(marginal[1, 1] - 1.77e-3) < 5e-6 and abs(product - 3.6e-4) < 1e-5
for h in (0, 1):
    given = joint[h] / joint[h].sum()
    torch.testing.assert_close(given, given.sum(1).outer(given.sum(0)))

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.4, 2.5))
independent = torch.tensor([0.7, 0.3]).outer(torch.tensor([0.6, 0.4]))
dependent = torch.tensor([[0.55, 0.15], [0.05, 0.25]])
for axis in (0, 1):  # the same marginals
    torch.testing.assert_close(dependent.sum(axis), independent.sum(axis))
assert not torch.allclose(dependent, independent, atol=0.1)
for ax, (table, title) in zip(axes, ((independent, "independent"),
                                     (dependent, "dependent"))):
    left = 0.0
    for i, width in enumerate(table.sum(dim=1).tolist()):
        split = (table[i, 0] / table[i].sum()).item()
        ax.bar(left + width / 2, split, width * 0.97, color="#9AD0F0")
        ax.bar(left + width / 2, 1 - split, width * 0.97, bottom=split,
               color="#F0B58F")
        for j, height in enumerate((split / 2, (1 + split) / 2)):
            ax.text(left + width / 2, height, f"{table[i, j]:.2f}",
                    ha="center", va="center", fontsize=9)
        left += width
    ax.set(title=title, xlim=(0, 1))
    ax.set_xticks([0.35, 0.85], labels=["A = 0", "A = 1"])
    ax.set_yticks([])
axes[0].set_ylabel("blue: B = 0, orange: B = 1")
d2l.describe(axes, "Two mosaics of unit area. The two columns are the values "
             "of A, with their probabilities as widths; the orange part is "
             "the share of B = 1. For the independent pair it is the same "
             "in both columns, for the dependent pair much larger in the "
             "second.")

# %% [markdown]
# **Figure 2.6.5.** A joint distribution as an area.
# The colours change at the same height in all columns exactly if the variables are independent.

# %% [markdown]
# Conditioning can also *create* dependence.
# Two causes, each of probability 0.1 and independent, can each set off an alarm.
# If the alarm rings, each cause has become likely.
# Learn that one of them is present, and the other falls back to 0.1: it has been *explained away*.
#
# ![Two small graphs. Common cause: H has arrows to D1 and D2. Common effect: A and B have arrows to C.](img/prob-graphs.svg)
#
# **Figure 2.6.6.** In general, a common cause makes its effects dependent until it is known; a common effect makes its causes dependent once it is known.

# %%
# check 2.6-C12: explaining away
p = torch.tensor([0.9, 0.1], dtype=f64)
AB = p.outer(p)  # (A, B)
rings = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=f64)  # C = A or B
ringing = AB * rings
A_given_C = (ringing[1].sum() / ringing.sum()).item()
A_given_CB = (ringing[1, 1] / ringing[:, 1].sum()).item()
print(f"P(A | C) = {A_given_C:.3f}, P(A | C, B) = {A_given_CB:.3f}")
assert abs(A_given_C - 0.526) < 5e-4 and math.isclose(A_given_CB, 0.1)

# %% [markdown]
# ## Expectation and variance
#
# A distribution is often summarized by a few numbers.
# The *expectation* is the mean of the values, weighted by their probabilities; for a density the sum becomes an integral:
#
# $$
# \begin{gathered} E[X]=\sum_x x\,P(X=x), \\[4pt] E_{x\sim P}[f(x)]=\sum_x f(x)\,P(x), \\[4pt] E[f(X)]=\int f(x)\,p(x)\,dx. \end{gathered} \tag{2.6.6}
# $$
#
# All of these are numbers, for a function $f:\mathbb{R}\to\mathbb{R}$.
# Take an investment that loses everything with probability 0.5, doubles with probability 0.4 and grows tenfold with probability 0.1.
# On average each unit becomes $0.5\cdot0+0.4\cdot2+0.1\cdot10=1.8$.
# The *risk* of a model, the loss that it is expected to have on new examples, is an expectation too ([Section 3.6](../03-linear-regression/06-generalization.ipynb)).
#
# How far do the values scatter?
# The *variance* is the expected square of the distance from the mean,
#
# $$
# \operatorname{Var}[X]=E\left[(X-E[X])^2\right]=E[X^2]-E[X]^2, \tag{2.6.7}
# $$
#
# and its root is the *standard deviation* $\sigma_X$, in the unit of $X$.
# The second form follows by expanding the square: $E[X^2-2X\,E[X]+E[X]^2]=E[X^2]-2E[X]^2+E[X]^2$.
# The variance of a function is that of its values, $\operatorname{Var}[f(x)]=E\left[(f(x)-E[f(x)])^2\right]$.

# %%
def moments(values, probabilities):
    """Expectation and variance of a discrete variable."""
    values = torch.tensor(values, dtype=f64)
    probabilities = torch.tensor(probabilities, dtype=f64)
    mean = (values * probabilities).sum()
    return mean.item(), ((values - mean).square()
                         * probabilities).sum().item()

# %%
# check 2.6-C6: the investment
mean, variance = moments([0, 2, 10], [0.5, 0.4, 0.1])
print(f"mean {mean:.1f}, variance {variance:.2f}, "
      f"standard deviation {variance ** 0.5:.4f}")
assert math.isclose(mean, 1.8) and math.isclose(variance, 8.36)
assert math.isclose(0.4 * 4 + 0.1 * 100, 11.6)  # E[X^2]
assert math.isclose(variance, 11.6 - 1.8**2)
assert abs(variance**0.5 - 2.8914) < 5e-5

# %%
# check 2.6-C7: a fair die
mean, variance = moments(range(1, 7), [1 / 6] * 6)
assert math.isclose(mean, 3.5) and math.isclose(variance, 35 / 12)

# %% [markdown]
# The expectation is a gain of 80 %, and half of the time everything is lost.
# A single number hides that; Exercise 2.6-3 asks how much one should invest.
#
# ### A formula that loses digits
#
# The second form of (2.6.7) subtracts two large numbers in order to get a small one.
# With `float32` and three values near ten thousand, the result is 0.

# %%
# check 2.6-C15: one pass loses everything, two passes do not
v = torch.tensor([10_000.0, 10_001.0, 10_002.0])
one_pass = v.square().mean() - v.mean() ** 2
two_passes = (v - v.mean()).square().mean()
print(f"one pass {one_pass.item():.4f}, two passes {two_passes.item():.4f}")
assert one_pass == 0 and abs(two_passes - 2 / 3) < 1e-4

# %% [markdown]
# The first form subtracts the mean before squaring and loses hardly anything.
# Use the short formula on paper and the long one in programs.

# %% [markdown]
# ### Several variables
#
# For a vector $\mathbf{x}\in\mathbb{R}^n$ with expectation $\boldsymbol\mu$, the *covariance matrix* collects how its elements vary together,
#
# $$
# \boldsymbol\Sigma=E\left[(\mathbf{x}-\boldsymbol\mu)(\mathbf{x}-\boldsymbol\mu)^\top\right]\in\mathbb{R}^{n\times n}, \qquad \operatorname{Var}[\mathbf{v}^\top\mathbf{x}]=\mathbf{v}^\top\boldsymbol\Sigma\,\mathbf{v}, \tag{2.6.8}
# $$
#
# for any fixed $\mathbf{v}\in\mathbb{R}^n$.
# Its diagonal holds the variances, the other elements the *covariances* $\operatorname{Cov}(X,Y)=E[XY]-E[X]\,E[Y]$.
# Divided by both standard deviations, a covariance becomes the *correlation* $\rho(X,Y)$, a number between $-1$ and 1 without a unit.

# %%
# check 2.6-C14: the variance of a difference, exact and sampled
Sigma = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=f64)
v = torch.tensor([1.0, -1.0], dtype=f64)
rng = torch.Generator().manual_seed(5)
z = torch.randn(100_000, 2, generator=rng, dtype=f64)
samples = z @ torch.linalg.cholesky(Sigma).T  # covariance Sigma
sampled = (samples @ v).var().item()
print(f"exact {v @ Sigma @ v:.0f}, sampled {sampled:.2f}")
assert v @ Sigma @ v == 3 and abs(sampled / 3 - 1) < 0.02

# %% [markdown]
# Independent variables have covariance 0, and so no correlation.
# The converse is false: covariance sees only the linear part of a relation.

# %%
# check 2.6-C13: no covariance, and fully dependent
X = torch.tensor([-1.0, 0.0, 1.0])  # each with probability 1/3
Y = X**2
covariance = (X * Y).mean() - X.mean() * Y.mean()
assert covariance == 0
both = ((X == 0) & (Y == 0)).float().mean()  # 1/3
assert both != (X == 0).float().mean() * (Y == 0).float().mean()  # 1/9

# %% [markdown]
# ### How much lies how far out?
#
# For a normal distribution about 68, 95 and 99.7 % lie within one, two and three standard deviations.
# For *any* distribution with a variance, *Chebyshev's inequality* says that at most $1/k^2$ lies beyond $k$ of them,
#
# $$
# P\left(|X-\mu|\ge k\sigma\right)\le\frac1{k^2}, \tag{2.6.9}
# $$
#
# with the mean $\mu$, the standard deviation $\sigma$ and any number $k>0$.
# The proof is one line: where the event occurs, $(X-\mu)^2/(k\sigma)^2$ is at least 1, so its probability is at most the expectation of this ratio, which is $\sigma^2/(k\sigma)^2$.
# It needs nothing but a variance, and for the two distributions below it is crude.
# For others it is exact: for $k\ge1$ the values $-k$, 0 and $k$ with the probabilities $1/(2k^2)$, $1-1/k^2$ and $1/(2k^2)$ have the variance 1, and $1/k^2$ of them lie $k$ standard deviations out.

# %%
# check 2.6-C10: the normal rule, and Chebyshev's bound
normal = Normal(torch.tensor(0.0, dtype=f64), torch.tensor(1.0, dtype=f64))
k = torch.tensor([1.0, 2.0, 3.0], dtype=f64)
inside = normal.cdf(k) - normal.cdf(-k)
print([f"{v:.4f}" for v in inside.tolist()])
for value, wanted in zip(inside.tolist(), (0.6827, 0.9545, 0.9973)):
    assert abs(value - wanted) < 5e-5
beyond = {"normal": 1 - inside[1].item(),
          "exponential": 1 - Exponential(
              torch.tensor(1.0, dtype=f64)).cdf(1 + k[1]).item()}
print({name: round(share, 4) for name, share in beyond.items()})
assert abs(beyond["normal"] - 0.0455) < 5e-5
assert abs(beyond["exponential"] - 0.050) < 5e-4
assert max(beyond.values()) < 1 / 4
assert moments([-2, 0, 2], [1 / 8, 3 / 4, 1 / 8]) == (0, 1)  # 1/4 at 2 sigma

# %% [markdown]
# ### How far off is a frequency?
#
# Now we can return to the coins.
# A single toss, counted as 0 or 1, has the expectation $p$ and, by (2.6.7), the variance $p-p^2=p(1-p)$.
# By (2.6.8) with a vector $\mathbf{v}$ of ones, the variance of a sum is the sum of all elements of $\boldsymbol\Sigma$; if the numbers are independent only the diagonal counts, so *their variances add up*.
# A factor $a$ in front of a number appears squared in the variance.
# The mean of $n$ independent tosses therefore has the variance $n\cdot p(1-p)/n^2=p(1-p)/n$ and the standard deviation $\sqrt{p(1-p)/n}$, for a fair coin $0.5/\sqrt n$.
# To halve the width, take four times as many tosses.
# The *central limit theorem* adds that for large $n$ the distribution of the mean is nearly normal, so at any one large $n$ about 95 % of the series lie within two standard deviations, the funnel of Figure 2.6.1.

# %%
# check 2.6-C9: the spread falls with the square root of n
rng = torch.Generator().manual_seed(2)
for n in (10, 100, 1000, 10_000):
    heads = torch.zeros(repeats)
    for _ in range(n // 10):  # ten tosses of each series at a time
        heads += toss(10 * repeats, 0.5, rng).reshape(10, -1).sum(dim=0)
    frequency = heads / n  # (repeats,)
    scaled = frequency.std() * math.sqrt(n)
    print(f"n = {n:6}: spread times root of n = {scaled:.2f}")
    assert 0.47 < scaled < 0.53 and abs(frequency.mean() - 0.5) < 0.02

# %% [markdown]
# "At any one $n$" matters: an experimenter who looks after every toss has many chances to see a surprise.

# %%
rng = torch.Generator().manual_seed(4)
n = torch.arange(1, 10_001)
frequency = torch.stack([toss(10_000, 0.5, rng).cumsum(0) / n
                         for _ in range(500)])
outside = (frequency - 0.5).abs() > 1 / n.sqrt()  # (500, 10000)
print(f"outside the funnel after 10 000 tosses: "
      f"{outside[:, -1].float().mean():.0%}, "
      f"at some time: {outside.any(dim=1).float().mean():.0%}")
assert 0.02 < outside[:, -1].float().mean() < 0.08  # about 5 %
assert outside.any(dim=1).float().mean() > 0.5

# %% [markdown]
# More than half of these 500 series leave the funnel at some time.
# So an experiment must not be stopped as soon as its result lies outside: decide on $n$ first, or use a method made for repeated looks.

# %% [markdown]
# ### By simulation
#
# Many expectations have no formula.
# Then draw, and average: this is the *Monte Carlo* method.
# Its estimate comes with a *standard error*, the standard deviation of the mean, which is that of a single value divided by $\sqrt n$.
# Report the two together.

# %%
def estimate(f, sampler, n):
    """Mean of f over n samples, and its standard error."""
    values = f(sampler(n))
    return values.mean().item(), (values.std() / math.sqrt(n)).item()

# %%
rng = torch.Generator().manual_seed(6)
dice = lambda n: torch.randint(1, 7, (n, 2), generator=rng).float()
mean, error = estimate(lambda d: d.amax(dim=1), dice, 100_000)
exact = sum(k * (2 * k - 1) for k in range(1, 7)) / 36
print(f"larger of two dice: {mean:.3f}, standard error {error:.3f}, "
      f"exact {exact:.3f}")
assert abs(mean - exact) < 4 * error
mean, error = estimate(abs, lambda n: torch.arange(float(n)), 2)
assert mean == 0.5 and math.isclose(error, 0.5, rel_tol=1e-6)  # of 0 and 1

# %% [markdown]
# Two kinds of uncertainty appeared.
# *Aleatoric* uncertainty is in the thing itself: the next toss stays open, however well we know the coin.
# *Epistemic* uncertainty is in us, and shrinks with data: after a thousand tosses we know the coin better.
# It helps to ask which of the two a model's uncertainty consists of, since more examples of the same kind reduce only the second.

# %% [markdown]
# ## Summary
#
# - The mean of $n$ independent values with a variance scatters like $1/\sqrt n$; four times the data halve the spread.
# - Conditional probabilities are shares, and Bayes' theorem turns them around; where the disease is much rarer than false alarms are among the healthy, most positive results are false alarms.
# - Independence, conditional independence and zero covariance are three different things.
# - Variance is computed by subtracting the mean first; the short formula loses digits.
# - A simulated number comes with its standard error.

# %% [markdown]
# ## Exercises
#
# ### Exercise 2.6-1
#
# Two tests have, for each of them, a false positive rate of 0.1 and a false negative rate of 0.01, and given an infection they are independent.
# For healthy people they are coupled, $P(D_1=D_2=1\mid H=0)=0.02$.
# Write the table of $P(D_1,D_2\mid H=0)$, and the probability of an infection after one and after two positive results, for the prior 0.0015.

# %% [markdown]
# #### Solution 2.6-1

# %% [markdown]
# The marginals are 0.1, so each "one positive" has probability $0.1-0.02=0.08$, and both are negative with probability 0.82.
# For $H=1$ both are positive with $0.99^2$.
# Two positive results say much less than if the tests were independent, with $0.1^2=0.01$ in place of 0.02.

# %%
healthy = {(1, 1): 0.02, (1, 0): 0.1 - 0.02, (0, 1): 0.1 - 0.02}
healthy[0, 0] = 1 - sum(healthy.values())
assert math.isclose(healthy[0, 0], 0.82)
one = posterior(prior, torch.tensor([0.1, 0.99], dtype=f64))[1].item()
two = posterior(prior, torch.tensor([0.02, 0.99**2], dtype=f64))[1].item()
print(f"one positive {one:.6f}, two {two:.6f}")
assert abs(one - 0.014654) < 5e-7 and abs(two - 0.068570) < 5e-7

# %% [markdown]
# ### Exercise 2.6-2
#
# What does the first test of the text say if the disease has a prior of 0.0001, 0.01 or 0.1?

# %% [markdown]
# #### Solution 2.6-2

# %% [markdown]
# From one per cent to more than nine tenths, with the same test.

# %%
for p, wanted in ((0.0001, 0.00990), (0.01, 0.50251), (0.1, 0.91743)):
    result = posterior(torch.tensor([1 - p, p], dtype=f64), first)[1].item()
    assert abs(result - wanted) < 5e-6

# %% [markdown]
# ### Exercise 2.6-3
#
# Which share of your wealth should go into the investment of the text, if you can repeat it and want your wealth to grow?
# Maximize the expected *logarithm* of the wealth.

# %% [markdown]
# #### Solution 2.6-3

# %% [markdown]
# With the share $f$, a unit of wealth becomes $1-f$, $1+f$ or $1+9f$.
# Growth is a product over the rounds, so its logarithm is a sum, and the law of large numbers applies to it.
# The derivative of $0.5\log(1-f)+0.4\log(1+f)+0.1\log(1+9f)$ falls, and we find its zero by halving an interval.
# Investing everything each time has the largest expectation, and the probability of ruin within $n$ rounds is $1-0.5^n$.

# %%
def slope(f):
    return -0.5 / (1 - f) + 0.4 / (1 + f) + 0.9 / (1 + 9 * f)

low, high = 0.0, 0.99
for _ in range(60):
    middle = (low + high) / 2
    low, high = (middle, high) if slope(middle) > 0 else (low, middle)
print(f"share {low:.4f}")
assert abs(low - 0.2145) < 5e-5

# %% [markdown]
# ### Exercise 2.6-4
#
# Given $P(\mathcal{A})$ and $P(\mathcal{B})$, between which bounds do $P(\mathcal{A}\cup\mathcal{B})$ and $P(\mathcal{A}\cap\mathcal{B})$ lie?
# Show that the bounds are attained.

# %% [markdown]
# #### Solution 2.6-4

# %% [markdown]
# $\max(P(\mathcal{A}),P(\mathcal{B}))\le P(\mathcal{A}\cup\mathcal{B})\le\min(1,P(\mathcal{A})+P(\mathcal{B}))$ and $\max(0,P(\mathcal{A})+P(\mathcal{B})-1)\le P(\mathcal{A}\cap\mathcal{B})\le\min(P(\mathcal{A}),P(\mathcal{B}))$.
# On a wheel with ten equal sectors, one event inside the other attains the first and the last bound; events that overlap as little as possible attain the other two.

# %%
for a, b in ((3, 4), (7, 6)):
    A, inside = set(range(a)), set(range(b))
    apart = set(range(10 - b, 10))
    assert len(A | inside) == max(a, b) and len(A & inside) == min(a, b)
    assert len(A | apart) == min(10, a + b)
    assert len(A & apart) == max(0, a + b - 10)

# %% [markdown]
# ### Exercise 2.6-5
#
# Draw from a Cauchy distribution, and average.
# Does the mean of 1000 draws lie closer to 0 than a single draw?

# %% [markdown]
# #### Solution 2.6-5

# %% [markdown]
# No.
# The Cauchy distribution has no expectation, and the law of large numbers does not apply: the mean of any number of draws has the same distribution as one.
# A single rare draw can be so large that it alone determines the mean.

# %%
torch.manual_seed(7)
cauchy = torch.distributions.Cauchy(torch.tensor(0.0), torch.tensor(1.0))
for n in (1, 1000):
    typical = cauchy.sample((2000, n)).mean(dim=1).abs().median().item()
    print(f"n = {n:4}: median distance from 0 is {typical:.2f}")
    assert 0.8 < typical < 1.2

# %% [markdown]
# ### Exercise 2.6-6
#
# How much narrower is the interval for the probability of heads after 1 000 000 tosses than after 10 000?
# By what factor must the number of tosses grow for two more digits?

# %% [markdown]
# #### Solution 2.6-6

# %% [markdown]
# A hundred times the tosses, a tenth of the width.
# Two more digits need ten thousand times the tosses.

# %%
rng = torch.Generator().manual_seed(8)
spread = {}
for n in (10_000, 1_000_000):
    chances = torch.full((2000,), 0.5)
    heads = torch.binomial(torch.full((2000,), float(n)), chances,
                           generator=rng)
    spread[n] = (heads / n).std().item()
ratio = spread[10_000] / spread[1_000_000]
print(f"the spread falls by a factor of {ratio:.1f}")
assert 9 < ratio < 11

# %% [markdown]
# ## Sources
#
# - A. N. Kolmogorov (1933). Grundbegriffe der Wahrscheinlichkeitsrechnung. Springer, [doi:10.1007/978-3-642-49888-6](https://doi.org/10.1007/978-3-642-49888-6): the axioms.
# - W. Casscells, A. Schoenberger, T. B. Graboys (1978). Interpretation by physicians of clinical laboratory results. [doi:10.1056/NEJM197811022991808](https://doi.org/10.1056/NEJM197811022991808).
# - G. Gigerenzer, U. Hoffrage (1995). How to improve Bayesian reasoning without instruction: frequency formats. [doi:10.1037/0033-295X.102.4.684](https://doi.org/10.1037/0033-295X.102.4.684): counting people in place of percentages.
# - J. L. Kelly (1956). A new interpretation of information rate. [doi:10.1002/j.1538-7305.1956.tb03809.x](https://doi.org/10.1002/j.1538-7305.1956.tb03809.x): maximizing the logarithm of wealth.
# - J. Pearl (1988). Probabilistic Reasoning in Intelligent Systems. Morgan Kaufmann: explaining away.
# - T. F. Chan, G. H. Golub, R. J. LeVeque (1983). Algorithms for computing the sample variance. [doi:10.1080/00031305.1983.10483115](https://doi.org/10.1080/00031305.1983.10483115).
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the test, the investment.
