# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu: {}
#       smoke:
#         num_seeds: 10
#         train_size: 2000
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
# # 4.7 Environment and distribution shift
#
# Imagine a lender whose model finds that people in leather shoes pay back and people in sneakers do not.
# So leather shoes get the loan.
# Soon every applicant wears leather, and the rule has lost its value *because* it was used.
#
# A test set drawn before the model was in use cannot reveal this.
# What can change between training and use, what can be repaired without new labels, and what happens when the model acts on the world that supplies its data?
#
# **You will**
#
# - name the kind of a distribution shift, and detect a shift of the inputs with a classifier;
# - correct covariate shift and label shift by weights, and say when the correction breaks down;
# - tell settings of learning apart by their feedback;
# - build a runaway feedback loop from harmless parts, and cure it.
#
# **Cost**: less than half a minute on a CPU, no GPU needed; a download of 31 MB, once, for two of the exercises.

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch.distributions import Beta, Normal

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (FashionMNIST,
                                                        confusion_matrix)

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
num_seeds = 50  # repetitions of the covariate-shift experiment
train_size = 10_000  # training images in Exercise 4.7-4

# %% [markdown]
# ## Types of distribution shift
#
# Training data come from a *source* distribution $p_S(\mathbf{x},y)$, the model is used on a *target* distribution $p_T(\mathbf{x},y)$; $\mathbf{x}$ are the features and $y$ is the label.
# A *distribution shift* is any difference between the two.
#
# Without an assumption about the difference, unlabelled inputs say nothing about the labels of the target.
# Keep $p_S(\mathbf{x})=p_T(\mathbf{x})$, and let the two labels trade places, $p_S(y=1\mid\mathbf{x})=1-p_T(y=1\mid\mathbf{x})$.
# A model that was always right is always wrong, and the inputs alone cannot tell (Exercise 4.7-6).
#
# So we restrict what may change.
# A joint density can be factored in two ways, and each kind of shift keeps one factor:
#
# $$p(\mathbf{x},y) = p(y\mid\mathbf{x})\,p(\mathbf{x}) = p(\mathbf{x}\mid y)\,p(y). \tag{4.7.1}$$
#
#
# *Covariate shift*: $p(\mathbf{x})$ changes, $p(y\mid\mathbf{x})$ stays.
# The assumption is natural where $\mathbf{x}$ causes $y$: a model of cats and dogs trained on photographs meets cartoons.
# It is the easiest kind to monitor, because inputs are visible without labels.
#
# *Label shift*: $p(y)$ changes, $p(\mathbf{x}\mid y)$ stays.
# It is natural where $y$ causes $\mathbf{x}$: in an epidemic more people have the disease, with the same symptoms.
# Where both assumptions hold, as they may if the input determines the label, the correction for label shift is often preferable: it works with one number per class rather than with densities in the space of pictures.
#
# *Concept shift*: $p(y\mid\mathbf{x})$ itself changes.
# A soft drink is called *soda*, *pop* or *coke* depending on the region; diagnostic criteria and job titles change over the years.
# Concept shift is hard to notice, since the inputs may not change at all, but it is often gradual.

# %% tags=["hide-input"]
generator = torch.Generator().manual_seed(1)
panels = {"source": (0.0, 0.5, 0), "covariate shift": (1.6, 0.5, 0),
          "label shift": (0.0, 0.9, 0), "concept shift": (0.0, 0.5, 60)}
fig, axes = plt.subplots(1, 4, figsize=(8.0, 2.5), sharex=True, sharey=True)
for ax, (name, (move, share, degrees)) in zip(axes, panels.items()):
    X = torch.randn(150, 2, generator=generator)  # (n, 2)
    second = torch.rand(150, generator=generator) < share
    X[:, 0] += torch.where(second, 1.0, -1.0) + move
    angle, prior = math.radians(degrees), math.log(share / (1 - share))
    normal = torch.tensor([math.cos(angle), math.sin(angle)])
    posterior = torch.sigmoid(2 * X @ normal + prior)  # p(y = 1 | x)
    y = torch.rand(150, generator=generator) < posterior
    ax.plot(*X[~y].T, "o", ms=3, color=d2l.plotting.COLORS[0])
    ax.plot(*X[y].T, "x", ms=4, color=d2l.plotting.COLORS[1])
    along = torch.tensor([-4.0, 4.0])
    ax.plot(-prior / 2 * normal[0] - along * normal[1],
            -prior / 2 * normal[1] + along * normal[0], "k--", lw=1)
    ax.set(title=name, xlabel="$x_1$", xlim=(-4.4, 5), ylim=(-3.3, 3.3))
axes[0].set_ylabel("$x_2$")
d2l.describe(axes, "Four scatter plots of two classes. Source: circles on "
             "the left, crosses on the right, a vertical line between them. "
             "Covariate shift: the cloud has moved right, the line stays. "
             "Label shift: mostly crosses, the line has moved left. Concept "
             "shift: the same cloud, but the line is turned by 60 degrees.")

# %% [markdown]
# **Figure 4.7.1.** The same two classes before and after three kinds of shift.
# On the dashed line both classes are equally probable.

# %% [markdown]
# ## Examples of distribution shift
#
# ### Medical diagnosis
#
# A company develops a blood test for a disease that mainly strikes older men.
# Blood of patients comes from the hospital; healthy blood comes from students, who are easier to recruit.
# The classifier separates the two groups perfectly and is useless, since the groups also differ in age, hormones, diet and habits.
#
# Healthy older men do not occur in the training data.
# Among older men the training labels are all *ill*, so $p(y\mid\mathbf{x})$ differs between training and use.
# This is a *selection bias* that depends on the label; weights on $\mathbf{x}$ cannot correct it, because the missing pairs of input and label get no weight.
# The remedy is to collect data where the model will be used.
#
# Here is the story with two features, age and a weak marker of the disease.

# %%
def blood(n, generator, students):
    """Features (n, 2): marker and scaled age; labels (n,), 1 = ill."""
    y = torch.arange(n) % 2
    marker = y + torch.randn(n, generator=generator)
    age = 1 + 0.2 * torch.randn(n, generator=generator)
    if students:  # the healthy are young
        age = age - 2 * (1 - y)
    return torch.stack([marker, age], dim=1), y

# %% [markdown]
# The classifier is softmax regression, trained with `LBFGS`, a method that uses all examples in each step and estimates the curvature from past gradients.
# Each example may carry a weight.

# %% tags=["export"]
def fit_logits(X, y, q, beta=None, ridge=0.0, steps=100):
    """Softmax regression on X (n, d), y (n,) with weights beta (n,).

    Minimizes the mean of beta * cross-entropy + ridge * |W|^2 over
    W (d, q), b (q,) and returns them.
    """
    W = torch.zeros(X.shape[1], q, dtype=X.dtype, device=X.device,
                    requires_grad=True)
    b = torch.zeros(q, dtype=X.dtype, device=X.device, requires_grad=True)
    beta = torch.ones_like(X[:, 0]) if beta is None else beta  # (n,)
    optimizer = torch.optim.LBFGS([W, b], max_iter=steps,
                                  line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        losses = F.cross_entropy(X @ W + b, y, reduction="none")  # (n,)
        loss = (beta * losses).mean() + ridge * (W**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return W.detach(), b.detach()

# %%
generator = torch.Generator().manual_seed(2)
X, y = blood(2000, generator, students=True)
W, b = fit_logits(X, y, 2, ridge=1e-3)
shortcut = {}
for name, students in (("hospital and students", True),
                       ("older men", False)):
    X_new, y_new = blood(2000, generator, students)
    answer = (X_new @ W + b).argmax(dim=1)  # (2000,)
    shortcut[name] = (answer == y_new).double().mean().item()
    print(f"accuracy on {name:22}{shortcut[name]:.2f}")
W1, b1 = fit_logits(X[:, :1], y, 2)  # the same training data, no age
marker = (X_new[:, :1] @ W1 + b1).argmax(dim=1) == y_new
print(f"trained on the marker alone:  {marker.double().mean():.2f}")
assert shortcut["hospital and students"] > 0.99
assert shortcut["older men"] < 0.6 and 0.65 < marker.double().mean() < 0.73
assert answer.double().mean() > 0.95  # nearly all older men count as ill

# %% [markdown]
# On a test set drawn like the training data the model is nearly perfect; on the people for whom it was made it is close to guessing, because nearly all of them count as ill.
# Trained on the marker alone, it reaches about $\Phi(0.5)\approx0.69$, where $\Phi$ is the distribution function of the standard normal distribution; with age it has learned a *shortcut*, a clue that is tied to the label in training and not in use.
#
# ### More examples
#
# A detector of roadsides was trained on rendered scenes and failed on roads: all roadsides had been drawn with one texture, and the model had learned the texture.
# A similar story, never verified, is told of an army's classifier that was to find tanks and found the shadows of trees.
# The meaning of *roadside* and *tank* did not change, the inputs did: covariate shift with shortcut learning.
#
# More common than a break is a slowly moving distribution with a model that stays.
# A model for advertisements knows nothing of a device that appeared last month; a spam filter works until spammers adapt to it; a shop recommends Santa hats long after Christmas.
# The usual answers are retraining at intervals or online learning (Exercise 4.7-8).
#
# Benchmarks collect such shifts from practice.
# WILDS (Koh and others 2021) has ten data sets, among them tumour images from new hospitals and pictures from new camera traps; on each, standard training was substantially worse out of distribution than in distribution, and the methods made to close the gap did not close it.

# %% [markdown]
# ## Correction of distribution shift
#
# ### Empirical risk and risk
#
# Training minimizes the *empirical risk*, the mean loss over $n$ examples:
#
# $$\min_f\ \frac1n\sum_{i=1}^n l(f(\mathbf{x}_i),y_i), \tag{4.7.2}$$
#
# where $f$ is the model, $(\mathbf{x}_i,y_i)$ is example $i$ and $l$ the loss, a number.
# It stands in for the *risk*, the mean loss under the distribution $p$ for which the model is meant:
#
# $$E_{p(\mathbf{x},y)}\left[l(f(\mathbf{x}),y)\right] = \iint l(f(\mathbf{x}),y)\,p(\mathbf{x},y)\,d\mathbf{x}\,dy. \tag{4.7.3}$$
#
# By the law of large numbers (4.7.2) approaches (4.7.3) for a fixed $f$ if the examples are independent draws from $p$; otherwise it may approach another number.
#
# ### Covariate shift correction
#
# From here on $q$ is the density of the source and $p$ that of the target, and both share $p(y\mid\mathbf{x})=q(y\mid\mathbf{x})$.
# Multiply and divide by $q(\mathbf{x})$:
#
# $$\iint l(f(\mathbf{x}),y)\,p(y\mid\mathbf{x})\,p(\mathbf{x})\,d\mathbf{x}\,dy = \iint l(f(\mathbf{x}),y)\,q(y\mid\mathbf{x})\,q(\mathbf{x})\,\frac{p(\mathbf{x})}{q(\mathbf{x})}\,d\mathbf{x}\,dy. \tag{4.7.4}$$
#
# The right side is a mean under the *source*, so its examples estimate the risk of the target if each gets the weight
#
# $$\beta_i = \frac{p(\mathbf{x}_i)}{q(\mathbf{x}_i)}, \qquad \min_f\ \frac1n\sum_{i=1}^n\beta_i\,l(f(\mathbf{x}_i),y_i), \tag{4.7.5}$$
#
# one number $\beta_i\ge0$ per example: above 1 for inputs that are more frequent in the target, below 1 for those that are less frequent.
# The mean of $\beta$ under $q$ is $\int q\,\frac pq\,d\mathbf{x}=1$.
#
# If the model can represent the truth, and the source covers the target, an unweighted fit approaches it as well.
# Weights decide where a model that is *too simple* makes its errors.
# Our example is a straight line for a cubic:
#
# $$y = -x + x^3 + \epsilon,\quad \epsilon\sim\mathcal{N}(0,0.3^2),\qquad q=\mathcal{N}(0.5,0.5^2),\quad p=\mathcal{N}(0,0.3^2). \tag{4.7.6}$$
#
# $x$ and $y$ are numbers and $\epsilon$ is noise.
# Around 0, where the target lies, the cubic falls; the source extends to the right, where it rises.
#
# For two normal densities the logarithm of the weight is a quadratic function.
# With the numbers of (4.7.6),
#
# $$h(x) = \log\frac{p(x)}{q(x)} = \log\frac{0.5}{0.3} - \frac{x^2}{2\cdot0.09} + \frac{(x-0.5)^2}{2\cdot0.25} \approx 1.0108 - 2x - 3.5556\,x^2. \tag{4.7.7}$$
#
# Its maximum lies at $x=-0.281$, where the weight is about 3.64.

# %%
source, target = Normal(0.5, 0.5), Normal(0.0, 0.3)


def truth(x):
    return -x + x**3


def draw_cubic(n, distribution, generator):
    """Inputs (n,) from a normal distribution, and noisy labels (n,)."""
    z, noise = torch.randn(2, n, generator=generator, dtype=f64)
    x = distribution.mean + distribution.stddev * z
    return x, truth(x) + 0.3 * noise


def true_weights(x, p=target, q=source):
    return (p.log_prob(x) - q.log_prob(x)).exp()

# %% [markdown]
# ### Weights from a classifier
#
# In practice neither density is known, and densities in many dimensions are hard to estimate.
# Their *ratio* is what a classifier learns.
# Mix equally many inputs of both kinds, and label those of the target $z=1$ and those of the source $z=-1$.
# Then
#
# $$P(z=1\mid\mathbf{x}) = \frac{p(\mathbf{x})}{p(\mathbf{x})+q(\mathbf{x})}, \qquad\text{so}\qquad \frac{P(z=1\mid\mathbf{x})}{P(z=-1\mid\mathbf{x})} = \frac{p(\mathbf{x})}{q(\mathbf{x})}. \tag{4.7.8}$$
#
# Logistic regression models $P(z=1\mid\mathbf{x})=1/(1+\exp(-h(\mathbf{x})))$ with a score $h(\mathbf{x})\in\mathbb{R}$, whose odds are $\exp h(\mathbf{x})$.
# Hence $\beta=\exp h(\mathbf{x})$.
# With $n$ examples of the source and $m$ of the target the odds come out as $\frac mn\cdot\frac pq$, so multiply by $\frac nm$.
#
# The algorithm has four steps:
#
# 1. collect $n$ labelled examples of the source and $m$ *unlabelled* inputs of the target;
# 2. train a logistic regression to tell target from source;
# 3. give source example $i$ the weight $\beta_i=\frac nm\exp h(\mathbf{x}_i)$, or $\min(\beta_i,c)$ with a bound $c$ if single weights are huge (Exercise 4.7-3);
# 4. train on the source with the weighted risk (4.7.5).
#
# No label of the target is needed, but *overlap* is: $q(\mathbf{x})>0$ wherever $p(\mathbf{x})>0$.
#
# `importance_weights` uses two-class softmax regression, whose difference of scores is $h$, an affine function of `features`; for (4.7.7) these are $x$ and $x^2$.

# %% tags=["export"]
def importance_weights(X_src, X_tgt, features):
    """Weights (n,) of source inputs X_src for a target like X_tgt.

    `features` maps inputs to (rows, k), of which the logarithm of the
    ratio of densities is modelled as an affine function.
    """
    n, m = len(X_src), len(X_tgt)
    Phi = features(torch.cat([X_src, X_tgt]))  # (n + m, k)
    z = (torch.arange(n + m, device=Phi.device) >= n).long()
    W, b = fit_logits(Phi, z, 2)
    o = Phi[:n] @ W + b  # (n, 2): score of source, score of target
    return n / m * torch.exp(o[:, 1] - o[:, 0])

# %% [markdown]
# With the right features and many examples the estimate is close, also for $m\ne n$.

# %%
generator = torch.Generator().manual_seed(13)
x, _ = draw_cubic(40_000, source, generator)
x_tgt, _ = draw_cubic(10_000, target, generator)
beta = importance_weights(
    x, x_tgt, lambda x: torch.stack([x, x**2], dim=1))
error = (beta - true_weights(x)).abs().mean().item()
print(f"mean weight {beta.mean():.3f}, mean error {error:.3f}")
assert abs(beta.mean() - 1) < 0.02 and error < 0.05

# %% [markdown]
# For a linear model and squared loss, (4.7.5) is least squares in which row $i$ is multiplied by $\sqrt{\beta_i}$.

# %% tags=["export"]
def weighted_fit(X, y, beta):
    """Weighted least squares: w (d,) and b for X (n, d), y (n,)."""
    ones = torch.ones_like(X[:, :1])
    root = beta.sqrt()  # the squared loss turns it into beta
    A = torch.cat([X, ones], dim=1) * root[:, None]  # (n, d + 1)
    solution = torch.linalg.lstsq(A, (y * root)[:, None]).solution[:, 0]
    return solution[:-1], solution[-1]

# %%
# whole weights are repetitions of examples, in both fits
generator = torch.Generator().manual_seed(16)
X, y = torch.randn(40, 2, generator=generator, dtype=f64), torch.arange(40) % 3
beta = torch.randint(1, 4, (40,), generator=generator)
X_rep, y_rep = X.repeat_interleave(beta, 0), y.repeat_interleave(beta)
for fit in (lambda X, y, beta: weighted_fit(X, y.double(), beta),
            lambda X, y, beta: fit_logits(X, y, 3, beta)):
    torch.testing.assert_close(
        fit(X, y, beta.double()),
        fit(X_rep, y_rep, torch.ones(len(y_rep), dtype=f64)),
        rtol=0, atol=1e-3)
W, b = fit_logits(X, y, 3, beta, ridge=0.1)  # the gradient there is 0
error = beta[:, None] * (torch.softmax(X @ W + b, dim=1) - F.one_hot(y, 3))
assert (X.mT @ error / len(X) + 2 * 0.1 * W).abs().max() < 1e-4

# %% [markdown]
# The experiment has 200 labelled examples of the source, 200 unlabelled inputs of the target, and three straight lines, judged by their mean squared distance from the true curve at fresh inputs of the target.

# %%
def powers(x):
    return torch.stack([x, x**2], dim=1)  # (n, 2)


def three_lines(seed):
    """Data and the lines (w, b) without, with true and with own weights."""
    generator = torch.Generator().manual_seed(seed)
    x, y = draw_cubic(200, source, generator)
    x_tgt, _ = draw_cubic(200, target, generator)
    betas = {"unweighted": torch.ones_like(x),
             "true weights": true_weights(x),
             "estimated weights": importance_weights(x, x_tgt, powers)}
    lines = {name: weighted_fit(x[:, None], y, beta)
             for name, beta in betas.items()}
    return x, y, x_tgt, betas, lines


def target_error(line):
    w, b = line
    x, _ = draw_cubic(20_000, target, torch.Generator().manual_seed(999))
    return ((w * x + b - truth(x))**2).mean().item()

# %%
# check 4.7-C1: weights help in every repetition (seeds 0, 1, ...)
errors = {"unweighted": [], "true weights": [], "estimated weights": []}
for seed in range(num_seeds):
    for name, line in three_lines(seed)[-1].items():
        errors[name].append(target_error(line))
means = {name: sum(e) / len(e) for name, e in errors.items()}
for name, value in means.items():
    print(f"{name:18} mean target error {value:.4f}")
for name in ("true weights", "estimated weights"):
    assert all(a < b for a, b in zip(errors[name], errors["unweighted"]))
    assert means["unweighted"] > 5 * means[name]
assert 0.15 < means["unweighted"] < 0.25
assert len(set(errors["unweighted"])) == num_seeds  # data of their own
assert 0.004 < means["estimated weights"] < 0.009
assert abs(means["estimated weights"] / means["true weights"] - 1) < 0.15

# %%
def cubic(x):
    return torch.stack([x, x**2, x**3], dim=1)  # (n, 3)


x_test, _ = draw_cubic(20_000, target, torch.Generator().manual_seed(999))
right_model = {name: [] for name in errors}
for seed in range(num_seeds):
    x, y, _, betas, _ = three_lines(seed)
    for name, beta in betas.items():
        w, b = weighted_fit(cubic(x), y, beta)
        miss = cubic(x_test) @ w + b - truth(x_test)
        right_model[name].append((miss**2).mean().item())
right_means = {name: sum(e) / len(e) for name, e in right_model.items()}
print("cubic model:", {name: round(value, 4)
                       for name, value in right_means.items()})
assert right_means["unweighted"] < means["true weights"] / 2
limit = 0.8 if num_seeds >= 50 else 1.0
assert right_means["unweighted"] < limit * right_means["true weights"]

# %% tags=["hide-input"]
x, y, x_tgt, betas, lines = three_lines(0)
grid = torch.linspace(-1.2, 2.0, 100, dtype=f64)
fig, ax = plt.subplots(figsize=(6.4, 3.2))
ax.scatter(x, y, s=8 + 12 * betas["estimated weights"], alpha=0.35,
           color="gray", linewidths=0, label="source, labelled")
ax.plot(x_tgt, torch.full_like(x_tgt, -1.85), "|", color="black", ms=8,
        label="target, inputs only")
ax.plot(grid, truth(grid), color="black", lw=1, label="truth")
for (name, (w, b)), style in zip(lines.items(), ("-", "--", ":")):
    ax.plot(grid, w * grid + b, style, label=name)
ax.set(xlabel="$x$", ylabel="$y$", ylim=(-2.0, 2.0), xlim=(-1.25, 2.0))
ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
d2l.describe(ax, "Scatter of the source and ticks for the target around 0, "
             "with the cubic. The unweighted line rises slightly through "
             "the source; the two weighted lines lie on each other and "
             "follow the falling cubic around 0.")

# %% [markdown]
# **Figure 4.7.2.** A straight line cannot follow the cubic everywhere.
# Unweighted it fits the source, weighted it fits the target; weights estimated from unlabelled inputs do as well as the true ones.
# The larger a point, the larger its estimated weight.
#
# The second output is the control: a cubic model, which can represent the truth, has a larger mean error with the weights.
# If the noise has the same variance everywhere, equal weights give the smallest variance among linear unbiased estimates (Gauss-Markov theorem).
# In networks that could separate the training data, the effect of the weights faded during training, less with weight decay (Byrd and Lipton 2019).

# %% tags=["hide-input"]
grid = torch.linspace(-1.2, 2.0, 200, dtype=f64)
order = x.argsort()
fig, ax = plt.subplots()
ax.plot(grid, true_weights(grid), color="black", lw=1, label="truth")
ax.plot(x[order], betas["estimated weights"][order], "o", ms=3,
        label="estimated")
ax.axhline(1, color="gray", lw=0.8, ls=":")
ax.set(xlabel="$x$", ylabel=r"weight $\beta$")
ax.legend()
d2l.describe(ax, "Weight against x: a bell with its maximum near 3.6 at "
             "x = -0.28, below 1 for x beyond about 0.3. The dots of the "
             "estimate follow the curve of the true weights, a little "
             "below its maximum.")

# %% [markdown]
# **Figure 4.7.3.** The weights of the 200 examples of the source, and the ratio of the true densities.
# About a third of the source, on the right, has weights below 0.1.

# %% [markdown]
# ### Detecting a shift
#
# The classifier that gives the weights also tells whether there is a shift at all.
# Train it on one half of the two samples and test it on the other half.
# The *AUC*, area under the ROC curve, is the probability that a random input of the second sample gets a higher score than a random input of the first; ties count one half.
# If both samples have the same size and distribution, accuracy and AUC are near 0.5.
# The converse does not hold: a linear detector finds only shifts of a kind that it can see.

# %% tags=["export"]
def shift_detector(X_a, X_b):
    """Held-out accuracy and AUC of a linear classifier a against b.

    Samples X_a (n, ...) and X_b (m, ...) are flattened to vectors; one
    half of all rows trains the classifier, the other half tests it.
    """
    X = torch.cat([X_a, X_b]).flatten(start_dim=1)  # (n + m, d)
    z = (torch.arange(len(X)) >= len(X_a)).long().to(X.device)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(X), generator=generator).to(X.device)
    fit, test = order[::2], order[1::2]
    W, b = fit_logits(X[fit], z[fit], 2, ridge=1e-3)
    o = X[test] @ W + b
    score = o[:, 1] - o[:, 0]
    accuracy = ((score > 0) == (z[test] == 1)).double().mean().item()
    a, b = score[z[test] == 0], score[z[test] == 1].unsqueeze(1)
    auc = ((b > a).double() + 0.5 * (b == a)).mean().item()
    return accuracy, auc

# %% [markdown]
# For a unit normal distribution shifted by one standard deviation the best possible accuracy is $\Phi(0.5)\approx0.691$, with the threshold in the middle.
# The difference of one draw from each is normal with mean 1 and variance 2, so the AUC is $\Phi(1/\sqrt2)\approx0.760$.

# %%
# check 4.7-C3: chance for equal distributions, the known optimum otherwise
generator = torch.Generator().manual_seed(4)
A, B, C = torch.randn(3, 4000, 1, generator=generator)
same, moved = shift_detector(A, B), shift_detector(A, C + 1)
best = Normal(0.0, 1.0).cdf(torch.tensor([0.5, 0.5**0.5]))
print("same:    accuracy {:.3f}, AUC {:.3f}".format(*same))
print("shifted: accuracy {:.3f}, AUC {:.3f}".format(*moved))
print("optimum: accuracy {:.3f}, AUC {:.3f}".format(*best.tolist()))
assert 0.45 <= same[0] <= 0.55 and 0.45 <= same[1] <= 0.55
noise = 3 * (0.25 / 4000)**0.5  # three standard errors, 4000 test rows
assert 0.65 < moved[0] < best[0] + noise
assert abs(moved[1] - best[1]) < 0.03

# %%
# ties count one half; the test half is not the training half
few, many = ((torch.rand(4000, 1, generator=generator) < p).float()
             for p in (0.2, 0.5))
assert abs(shift_detector(few, many)[1] - (0.5 + (0.5 - 0.2) / 2)) < 0.03
assert shift_detector(torch.zeros(50, 1), torch.zeros(50, 1))[1] == 0.5
wide = torch.randn(2, 200, 300, generator=generator)  # more columns than
assert all(0.35 < v < 0.65 for v in shift_detector(*wide))  # training rows

# %% [markdown]
# ### Label shift correction
#
# The same identity, with the other factorization of (4.7.1), gives weights that depend on the label alone:
#
# $$\beta_i = \frac{p(y_i)}{q(y_i)}. \tag{4.7.9}$$
#
# $q(y)$ is counted on the labels of the source.
# $p(y)$ is missing, since there are no labels of the target.
# The *predictions* on the target contain the classifier's errors, but these can be measured.
#
# Take any classifier trained on the source (*black-box shift estimation*), and on held-out examples of the source estimate
#
# $$C_{ij} = P(\hat y=i\mid y=j), \tag{4.7.10}$$
#
# the probability of the answer $i$ for an example of class $j$; $\mathbf{C}\in\mathbb{R}^{q\times q}$, with $q$ now the number of classes, and each column sums to 1.
# Label shift keeps $p(\mathbf{x}\mid y)$, hence also the distribution of the answers given the class: $\mathbf{C}$ is the same on the target.
# By the law of total probability the share $\mu_i$ of answers $i$ on the target is $\sum_jC_{ij}\,p(y=j)$, or
#
# $$\mathbf{C}\,\mathbf{p} = \boldsymbol{\mu}, \tag{4.7.11}$$
#
# with $\mathbf{p}\in\mathbb{R}^q$ the wanted class shares and $\boldsymbol{\mu}\in\mathbb{R}^q$, which needs no labels.
# The solution is unique if $\mathbf{C}$ is invertible, which a classifier that is right more than half of the time in every class ensures, and it is right if the target has no new classes.
#
# The confusion matrix of [Section 4.3](03-base-classification-model.ipynb) has the true class in its rows and holds counts, so it is normalized by rows and transposed.

# %% tags=["export"]
def estimate_label_shift(conf_counts, pred_target):
    """Class shares (q,) of a target from its predicted classes (m,).

    `conf_counts` (q, q) counts held-out source examples: true class in
    the row, predicted class in the column.
    """
    counts = conf_counts.double()
    if (counts.sum(dim=1) == 0).any():
        raise ValueError("a class has no examples in conf_counts; the "
                         "estimate needs some of every class.")
    C = (counts / counts.sum(dim=1, keepdim=True)).mT  # columns sum to 1
    mu = torch.bincount(pred_target, minlength=len(C)).double()
    p = torch.linalg.solve(C, mu / mu.sum()).clamp(min=0)
    return p / p.sum()

# %%
# by hand: 0.9 p + 0.2 (1 - p) = 0.375 has the solution p = 0.25
counts = torch.tensor([[90, 10], [160, 640]])  # rows: true class
answers = (torch.arange(1000) >= 375).long()
p_hat = estimate_label_shift(counts, answers)
print(p_hat.numpy().round(6))
torch.testing.assert_close(p_hat, torch.tensor([0.25, 0.75], dtype=f64))
for k in (0, 1):  # one answer only: the solution leaves [0, 1], clamped
    only = estimate_label_shift(counts, torch.full((50,), k))
    assert only.tolist() == [1 - k, k]
try:
    estimate_label_shift(counts * torch.tensor([[1], [0]]), answers)
    raise AssertionError("a class without examples was accepted")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# With the shares estimated, we can train again with the weights (4.7.9), or correct the scores without training.
# By Bayes' rule $p(y\mid\mathbf{x})\propto p(\mathbf{x}\mid y)\,p(y)$, so changing the class shares multiplies each posterior probability by $p(y)/q(y)$ and normalizes again; on the scores this is an addition:
#
# $$o'_j = o_j + \log\frac{p(y=j)}{q(y=j)}, \tag{4.7.12}$$
#
# where $o_j$ is the score of class $j$ of the old model and $o'_j$ the adjusted one.
# This *logit adjustment* is exact if the old model gives the true probabilities of the source.

# %% tags=["export"]
def adjust_logits(o, p_hat, q_hat):
    """Scores o (..., q) of a model trained at class shares q_hat (q,),
    for use at class shares p_hat (q,)."""
    return o + torch.log(p_hat / q_hat).to(o)

# %% [markdown]
# Three classes are unit normal distributions in the plane, centred at $(0,0)$, $(2,0)$ and $(0,2)$.
# The source has equal shares, the target $(0.7,0.2,0.1)$, and the best possible accuracy can be computed.

# %%
centers = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], dtype=f64)
q_true = torch.full((3,), 1 / 3, dtype=f64)
p_true = torch.tensor([0.7, 0.2, 0.1], dtype=f64)


def draw_classes(n, shares, generator):
    """Points (n, 2) and labels (n,) with the given class shares."""
    y = torch.multinomial(shares, n, replacement=True, generator=generator)
    noise = torch.randn(n, 2, generator=generator, dtype=f64)
    return centers[y] + noise, y


def accuracy(o, y):
    return (o.argmax(dim=1) == y).double().mean().item()

# %%
def label_shift_run(seed, n=3000):
    """One experiment: shares found, and accuracies on the target."""
    generator = torch.Generator().manual_seed(seed)
    X, y = draw_classes(n, q_true, generator)  # to train
    X_val, y_val = draw_classes(n, q_true, generator)  # for C
    X_tgt, y_tgt = draw_classes(n, p_true, generator)  # y_tgt only judges
    W, b = fit_logits(X, y, 3)
    o = X_tgt @ W + b  # (n, 3)
    counts = confusion_matrix((X_val @ W + b).argmax(dim=1), y_val, 3)
    p_hat = estimate_label_shift(counts, o.argmax(dim=1))
    q_hat = torch.bincount(y, minlength=3) / n
    W2, b2 = fit_logits(X, y, 3, beta=(p_hat / q_hat)[y])
    return {"counts": counts, "p_hat": p_hat,
            "naive": torch.bincount(o.argmax(dim=1), minlength=3) / n,
            "before": accuracy(o, y_tgt),
            "reweighted": accuracy(X_tgt @ W2 + b2, y_tgt),
            "adjusted": accuracy(adjust_logits(o, p_hat, q_hat), y_tgt)}

# %%
generator = torch.Generator().manual_seed(5)
X, y = draw_classes(1_000_000, p_true, generator)
o = X @ centers.mT - (centers**2).sum(dim=1) / 2  # log p(x|y) + constant
bayes = {"uncorrected": accuracy(o, y),
         "corrected": accuracy(adjust_logits(o, p_true, q_true), y)}
print({name: round(value, 3) for name, value in bayes.items()})
assert abs(bayes["uncorrected"] - 0.739) < 0.002
assert abs(bayes["corrected"] - 0.826) < 0.002

# %%
# check 4.7-C4: shares are recovered, both corrections raise the accuracy
runs = [label_shift_run(seed) for seed in range(3)]
assert len({run["p_hat"][0].item() for run in runs}) == 3
for run in runs:
    print("p_hat", run["p_hat"].numpy().round(3), " naive",
          run["naive"].numpy().round(3), " accuracy", *(
        f"{name} {run[name]:.3f}"
        for name in ("before", "reweighted", "adjusted")))
    assert (run["p_hat"] - p_true).abs().max() < 0.05
    assert (run["naive"] - p_true).abs().max() > 0.1
    assert 0.72 < run["before"] < 0.77
    assert 0.80 < run["reweighted"] < 0.85
    assert 0.80 < run["adjusted"] < 0.85
    assert abs(run["adjusted"] - run["reweighted"]) < 0.005
    assert run["naive"][0] < 0.6  # class 0 is answered too rarely

# %% tags=["hide-input"]
counts, p_hat, naive = (runs[0][k] for k in ("counts", "p_hat", "naive"))
C = (counts / counts.sum(dim=1, keepdim=True)).mT
fig, axes = plt.subplots(1, 2, figsize=(7.8, 3.0))
fig.get_layout_engine().set(wspace=0.08)
d2l.heatmap(C, annotate=".2f", ax=axes[0], xlabel="true class $j$",
            ylabel="answer $i$", rows=list("012"), cols=list("012"),
            title=r"$C_{ij}=P(\hat y=i\mid y=j)$")
bars = {"true $p$": p_true, r"estimate $\hat p$": p_hat,
        "naive shares": naive}
for k, (name, values) in enumerate(bars.items()):
    axes[1].bar(torch.arange(3) + 0.27 * (k - 1), values, 0.25, label=name)
axes[1].set(xticks=range(3), xlabel="class", ylabel="share of the target")
axes[1].legend()
d2l.describe(axes, "Left: matrix of answers given the true class, most on "
             "the diagonal. Right: bars of the class shares. The estimate "
             "agrees with the true shares 0.7, 0.2, 0.1; the naive shares "
             "are too low for class 0 and too high for the others.")

# %% [markdown]
# **Figure 4.7.4.** The errors of the classifier, measured on the source (left), turn its biased answers on the target into the right class shares (right).
#
# The uncorrected model answers class 0 too rarely, because it was trained for a world in which all three classes are equally frequent.
# Both corrections come near the best possible accuracy; here, where the model can give the true probabilities, adding three numbers is as good as training again.
# (Some descriptions use the matrix of *joint* shares in (4.7.11); Exercise 4.7-7 shows what comes out.)

# %% [markdown]
# ### Concept shift correction
#
# If the meaning of the labels changes, these weights do not help.
# A network trained to tell cats from dogs, and now asked to tell white animals from black ones, needs new labels.
# Gradual change is easier, such as the wear of a lens: training can continue on new data from a model that starts close to where it should be (transfer learning, [Section 14.2](../14-computer-vision/02-fine-tuning.ipynb)).

# %% [markdown]
# ## When the model acts on its world
#
# So far the world was indifferent to the model.
#
# ![Four boxes in a row: data, model, decisions, world. Arrows lead from each to the next, and from the world back to the data. A dashed blue arrow from decisions to data says that decisions choose what is observed; the dashed red arrow from decisions to world says that actions change the world.](img/feedback-settings.svg)
#
# **Figure 4.7.5.** Batch and online learning know only the black arrows.
# A bandit adds the blue one; control, reinforcement learning and many uses of a model add the red one too.
#
# | Setting | Example | Feedback after a decision | Does the world remember or react? |
# | --- | --- | --- | --- |
# | *batch learning* | a cat door, trained once and sold | none in use | no |
# | *online learning* | tomorrow's price: predict, see the truth, update | the true label | may drift |
# | *bandit* | which of three advertisements to show | reward of the chosen action only | no |
# | *control* | the boiler of a coffee machine | state of the system | remembers, by known or simple dynamics |
# | *reinforcement learning* | chess, cars in traffic | rewards, possibly late | remembers and may oppose |
# | *other agents that learn* | traders, spammers | whatever they do | remembers and adapts |
#
# **Table 4.7.1.** Six settings.
# Exercises 4.7-8 to 4.7-11 run a toy of each of the middle four.
#
# A strategy that works in one setting may fail in another.
# A gap between two prices closes when it is exploited.
# If the environment changes slowly, small updates protect the model from noise; if it changes rarely and abruptly, the model must be allowed to jump.

# %% [markdown]
# ## Fairness, accountability and feedback loops
#
# A deployed model often decides who gets a loan, an interview, a second look.
# Costs set the threshold of a decision ([Section 4.3](03-base-classification-model.ipynb)).
# The mean may hide a group on which the model fails; report results for each group that matters.
# Someone must be able to explain a decision, and be answerable for it.
#
# One danger does not show on a test set: decisions that create their own evidence.
# A well-studied case is *predictive policing* (Ensign and others 2018).
# Patrols are sent where incidents were recorded, and incidents are recorded where patrols are.
#
# Take two districts, one patrol per day, and records that start with five incidents each.
# Every day the patrol goes to a district with probability equal to its share of all records, and records an incident there with the probability that is the district's true rate.
#
# If both rates are equal, the incidents follow *Pólya's urn*: draw a ball, put it back with another one of the same colour.
# The share converges in every run, but to a *random* number $s$ with density proportional to $s^4(1-s)^4$ (distribution $\operatorname{Beta}(5,5)$) and standard deviation
#
# $$\sqrt{\frac{5\cdot5}{(5+5)^2\,(5+5+1)}} = \sqrt{\tfrac1{44}} \approx 0.151. \tag{4.7.13}$$
#
# The accidents of the first days become permanent.
#
# A district that is visited with probability $\pi_k$ is recorded with a fraction $\pi_k$ of its incidents; so count each recorded incident with weight $1/\pi_k$.
# The expected daily gain of the record of district $k$ is then
#
# $$E[\text{gain}_k] = \pi_k\cdot r_k\cdot\frac1{\pi_k} = r_k, \tag{4.7.14}$$
#
# its true rate $r_k$, whatever the patrols do.
# This is the importance weighting of (4.7.5) again.

# %%
def patrol(rates, days=2000, weighted=False, most=False, runs=1000, seed=0):
    """Share of patrols to the first district, (days, runs).

    `most`: always to the district with the longer record, or if they are
    equal to one at random.
    """
    generator = torch.Generator().manual_seed(seed)
    rates, rows = torch.tensor(rates), torch.arange(runs)
    records, shares = torch.full((runs, 2), 5.0), torch.zeros(days, runs)
    for day in range(days):
        pi = records / records.sum(dim=1, keepdim=True)  # (runs, 2)
        if most:
            pi = (pi >= 0.5) / (pi >= 0.5).sum(dim=1, keepdim=True)
        shares[day] = pi[:, 0]
        k = (torch.rand(runs, generator=generator) >= pi[:, 0]).long()
        chance = torch.rand(runs, generator=generator)
        incident = (chance < rates[k]).float()
        weight = 1 / pi[rows, k] if weighted else 1.0
        records[rows, k] += incident * weight
    return shares

# %%
equal, cured = patrol((0.5, 0.5)), patrol((0.5, 0.5), weighted=True)
unequal = patrol((0.6, 0.4))
unequal_cured = patrol((0.6, 0.4), weighted=True)
long = patrol((0.6, 0.4), days=20_000, runs=200)
longest = patrol((0.6, 0.4), days=365, most=True)
for name, shares in (("equal rates", equal), ("  weighted", cured),
                     ("rates 0.6, 0.4", unequal),
                     ("  weighted", unequal_cured),
                     ("  unweighted, 20 000 days", long),
                     ("  always the longer record", longest)):
    print(f"{name:27} mean share {shares[-1].mean():.3f}, "
          f"standard deviation {shares[-1].std():.3f}")

# %%
# check 4.7-C10: naive records run away, weighted ones find the rates
assert abs(equal[-1].std() - 1 / 44**0.5) < 0.01
assert 0.78 < unequal[-1].mean() < 0.88 < long[-1].mean() < 0.96
for shares, value in ((cured, 0.5), (unequal_cured, 0.6)):
    assert abs(shares[-1].mean() - value) < 0.005
    assert 0.012 < shares[-1].std() < 0.02
assert longest[-1].unique().tolist() == [0, 1]  # one district only
assert abs(longest[-1].mean() - 0.6) < 0.05  # 0.6 / (0.6 + 0.4)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.9), sharey=True)
for ax, shares, name in zip(axes, (equal, cured),
                            ("records as they are", "weighted records")):
    ax.plot(torch.arange(1, 2001), shares[:, :20], lw=0.9,
            color=d2l.plotting.COLORS[0], alpha=0.6)
    ax.axhline(0.5, color="black", ls=":", lw=1)
    ax.set(xscale="log", xlabel="day", title=name, ylim=(0, 1))
axes[0].set_ylabel("share of district 1")
d2l.describe(axes, "Share of patrols to district 1 over 2000 days in 20 "
             "runs with equal true rates. Left, raw records: every curve "
             "settles at a level of its own between about 0.2 and 0.8. "
             "Right, weighted records: all curves return to 0.5.")

# %% [markdown]
# **Figure 4.7.6.** Twenty runs with *equal* true rates: raw records settle at different shares, weighted ones near one half.
#
# At rates of 0.6 and 0.4 the naive system on average gives the first district far more than six tenths of the patrols, and ever more, with limit 1.
# If the patrol always goes to the district with the longer record, the first incident decides: the other district is not visited again, and in four of ten runs that is the one with the *higher* rate.
# The weighted records settle at the true shares.
# Their condition is again overlap: every district must keep a positive probability of a visit, and that probability must be known.
#
# Recommendations that decide what is clicked have the same shape, and so have generative models trained on each other's output.
# When generated data replace the original ones over generations, rare cases disappear first (*model collapse*, Shumailov and others 2024); accumulating them beside the original ones avoided the collapse in the experiments of Gerstgrasser and others (2024).
# Exercise 4.7-12 shows both in one dimension.

# %% [markdown]
# ## Summary
#
# - Covariate shift changes $p(\mathbf{x})$, label shift $p(y)$, concept shift $p(y\mid\mathbf{x})$; without such an assumption unlabelled inputs say nothing about labels, as flipped labels show.
# - A classifier between source and target detects a shift of the inputs, and its odds are the weights $p(\mathbf{x})/q(\mathbf{x})$ that correct the risk; they help a model that is too simple, and fail with few effective examples or missing overlap.
# - Under label shift, the confusion matrix normalized by true class recovers the class shares of the target from predictions; adding $\log p(y)/q(y)$ to the scores can replace retraining where the model's probabilities are right.
# - Settings of learning differ in their feedback: the true label (online learning), the chosen arm's reward only (bandits), or a world that remembers (control, reinforcement learning).
# - Data that a model's decisions select are a biased sample; weighting by the inverse probability of being recorded removes the bias that more data would only confirm.

# %% [markdown]
# ## Exercises
#
# ### Exercise 4.7-1
#
# A search engine changes the order of its results.
# What happens to the users, and what to the advertisers?
# Which of the data from before the change remain valid?

# %% [markdown]
# #### Solution 4.7-1

# %% [markdown]
# Users adapt: they click what is on top, so clicks move with the order, even if the order got worse; they rephrase queries that no longer work, which shifts $p(\mathbf{x})$; and if results disappoint they leave, which changes who is measured.
# Advertisers and authors of pages react on purpose.
# They bid for other words and rewrite their pages for the new ranking, as the applicants bought shoes; a feature that marked quality loses its value once it is worth faking.
# Prices of advertisements move, because the positions that they buy get a different number of clicks.
#
# Old click data were collected under the old order and are valid only as a weighted sample: a click on a result must be divided by the probability that the result was seen, as in (4.7.14).
# Labels that people gave to pairs of query and page without seeing the ranking remain valid until the pages change.
# The effect of the change is measured with a random split of users, and for advertisers, who see both groups, even that split is contaminated.
#
# One effect can be put into numbers: identical results, of which the first is seen always and the second every third time.

# %%
generator = torch.Generator().manual_seed(11)
seen = torch.tensor([1.0, 1 / 3])  # by position
clicks = (torch.rand(30_000, 2, generator=generator) < 0.3 * seen)
rate = clicks.double().mean(dim=0)
print("raw", rate.numpy().round(3), "weighted",
      (rate / seen).numpy().round(3))
assert rate[0] > 2.5 * rate[1]  # position looks like quality
assert ((rate / seen) - 0.3).abs().max() < 0.02

# %% [markdown]
# ### Exercise 4.7-2
#
# Apply `shift_detector` to Fashion-MNIST: to two random halves, to a half of which all pictures are brightened, and to a half of which all are moved by three pixels.
# Why must the two samples contain different pictures?

# %% [markdown]
# #### Solution 4.7-2

# %% [markdown]
# Random halves have equal distributions, so the AUC is near 0.5.
# A shift by three pixels gives an AUC close to 1.
# Dark borders that become bright are not the only clue: the four outer columns on either side nearly suffice, but so do the sixteen in the middle, for the garments are all centred.
# Brightening multiplies a pixel; some pictures are bright anyway, and clipping at 1 hides part of the change, so it is found less surely; without the clipping it is found more easily.
# If the second sample were the first one changed, the test half would contain partners of pictures in the training half.
# The samples would be dependent, and the values no longer estimate what happens with new pictures.

# %%
data = FashionMNIST(train_size=train_size + 5000)
generator = torch.Generator().manual_seed(8)
order = torch.randperm(len(data.X_train), generator=generator)[:4000]
A, B = data.X_train[order].chunk(2)  # (2000, 1, 28, 28) each
copies = {"random half": B, "brightened": (1.6 * B).clamp(max=1),
          "moved": B.roll(3, dims=-1)}
auc = {name: shift_detector(A, X)[1] for name, X in copies.items()}
print({name: round(value, 2) for name, value in auc.items()})
assert 0.44 < auc["random half"] < 0.56
if data.source == "real":
    assert auc["moved"] > 0.9 and auc["brightened"] > 0.6
    assert shift_detector(A, 1.6 * B)[1] > auc["brightened"] + 0.03
outer = torch.tensor([*range(4), *range(24, 28)])
for name, part in (("outer", outer), ("middle", torch.arange(6, 22))):
    found = shift_detector(A[..., part], copies["moved"][..., part])[1]
    print(f"moved, {name} columns only: {found:.2f}")
    assert found > 0.9 or data.source != "real"

# %% [markdown]
# ### Exercise 4.7-3
#
# If few examples carry most of the weight, an estimate is as noisy as one from fewer examples, and the *effective sample size*
#
# $$n_{\mathrm{eff}} = \frac{\left(\sum_i\beta_i\right)^2}{\sum_i\beta_i^2} \le n \tag{4.7.15}$$
#
# measures it: $n$ for equal weights, 1 if one example has all the weight.
# What does its share of $n$ tend to, and what is it for (4.7.6)?
# Then exchange the roles: train under $q=\mathcal{N}(0,0.3^2)$ for the target $p=\mathcal{N}(0.5,0.5^2)$, and compute $E_q[\beta^2]$.
# How does the share $n_{\mathrm{eff}}/n$ change with $n$?
# What does clipping the weights do?

# %% [markdown]
# #### Solution 4.7-3

# %% [markdown]
# By the law of large numbers $n_{\mathrm{eff}}/n$ tends to $E_q[\beta]^2/E_q[\beta^2]=1/E_q[\beta^2]$; for (4.7.6) that is about 0.42.

# %%
# check 4.7-C2: log-ratio, mean, maximum and effective share of the weights
x = torch.linspace(-2, 3, 501, dtype=f64)
h = torch.log(true_weights(x))
torch.testing.assert_close(h, 1.0108 - 2 * x - 3.5556 * x**2,
                           atol=1e-3, rtol=0)
x, _ = draw_cubic(1_000_000, source, torch.Generator().manual_seed(3))
beta = true_weights(x)  # (1000000,)
share = (beta.sum()**2 / (beta**2).sum() / len(beta)).item()
print(f"mean {beta.mean():.3f}, maximum {beta.max():.2f}, "
      f"effective share {share:.3f}")
assert abs(beta.mean() - 1) < 0.005 and abs(beta.max() - 3.64) < 0.005
assert abs(share - 0.417) < 0.005
assert 0.30 < (beta < 0.1).double().mean() < 0.35  # a third of the source

# %% [markdown]
# With the roles exchanged, $E_q[\beta^2]=\int p^2/q\,dx$, whose integrand behaves like $\exp(-x^2/\sigma_p^2+x^2/(2\sigma_q^2))$ for large $|x|$.
# It is finite only if $\sigma_p^2<2\sigma_q^2$; here $\sigma_p^2=0.25>0.18=2\sigma_q^2$, so it is infinite.
# The effective share tends to $1/E_q[\beta^2]=0$: with more examples come rarer and larger weights, which outvote all others.
# Overlap in the sense $q>0$ holds, and yet the correction fails in practice.
#
# Clipping at $c$ makes the variance finite and the estimate biased towards the source.
# The slope of the fitted line varies less between samples.

# %%
def reversed_shares(n, runs=20):
    """Effective shares (runs,) with source and target exchanged."""
    generator = torch.Generator().manual_seed(9)
    x = 0.3 * torch.randn(runs, n, generator=generator, dtype=f64)
    beta = true_weights(x, p=source, q=target)
    return beta.sum(dim=1)**2 / (beta**2).sum(dim=1) / n


shares = [reversed_shares(n).mean().item()
          for n in (10**2, 10**3, 10**4, 10**5)]
print("effective shares:", [round(share, 3) for share in shares])
assert all(a > 1.5 * b for a, b in zip(shares, shares[1:]))
assert shares[0] > 0.15 and shares[-1] < 0.05

# %%
slopes = {"raw": [], "clipped": []}
for seed in range(100):
    generator = torch.Generator().manual_seed(seed)
    x, y = draw_cubic(1000, target, generator)  # now the source
    beta = true_weights(x, p=source, q=target)
    for name, weights in (("raw", beta), ("clipped", beta.clamp(max=10))):
        slopes[name].append(weighted_fit(x[:, None], y, weights)[0].item())
spread = {k: torch.tensor(v).std().item() for k, v in slopes.items()}
print({name: round(value, 3) for name, value in spread.items()})
assert spread["clipped"] < 0.8 * spread["raw"]

# %% [markdown]
# ### Exercise 4.7-4
#
# Train softmax regression on Fashion-MNIST, with its equal class shares.
# Build a target from test images in which the classes 0, 7 and 9 have the shares 0.28, 0.28 and 0.30 and the others 0.02 each.
# Estimate the shares without using labels of the target, and correct the model.

# %% [markdown]
# #### Solution 4.7-4

# %% [markdown]
# The confusion matrix is counted on 5000 further training images.
# Errors of the measured shares $\boldsymbol\mu$ reach the estimate through $\mathbf{C}^{-1}$: if none of them exceeds $e$, the solution of (4.7.11) changes in component $i$ by at most $e$ times the sum of the absolute values in row $i$.
# This factor is largest for *shirt*, the class that the model finds least, and here *shirt* also has the largest error.
# The estimate is nevertheless closer to the truth than the shares of the predictions, and adjusting the scores raises the accuracy.
# (The intervals of the check hold for the original images.)

# %%
X, y = data.X_train.flatten(start_dim=1), data.y_train
X_fit, y_fit = X[:train_size], y[:train_size]
X_val, y_val = X[train_size:], y[train_size:]  # for the confusion matrix
W, b = fit_logits(X_fit, y_fit, 10, ridge=1e-4, steps=30)
counts = confusion_matrix((X_val @ W + b).argmax(dim=1), y_val, 10)
p_true = torch.full((10,), 0.02, dtype=f64)
p_true[[0, 7, 9]] = torch.tensor([0.28, 0.28, 0.30], dtype=f64)
rows = torch.cat([(data.y_val == k).nonzero()[:round(3000 * float(p)), 0]
                  for k, p in enumerate(p_true)])  # test images
X_tgt, y_tgt = data.X_val[rows].flatten(start_dim=1), data.y_val[rows]

# %%
o = X_tgt @ W + b  # (3000, 10)
p_hat = estimate_label_shift(counts, o.argmax(dim=1))
q_hat = torch.bincount(y_fit, minlength=10) / len(y_fit)
naive = torch.bincount(o.argmax(dim=1), minlength=10) / len(o)
distance = {"naive": (naive - p_true).abs().sum().item(),
            "estimated": (p_hat - p_true).abs().sum().item()}
before = accuracy(o, y_tgt)
after = accuracy(adjust_logits(o, p_hat, q_hat), y_tgt)
print("distance of shares:", {k: round(v, 3) for k, v in distance.items()})
print(f"accuracy {before:.3f} before, {after:.3f} after")
recall = counts.diagonal() / counts.sum(dim=1)
C = (counts / counts.sum(dim=1, keepdim=True)).mT
factor = torch.linalg.inv(C).abs().sum(dim=1)  # (10,)
for k in factor.topk(3).indices.tolist():
    print(f"{data.text_labels([k])[0]:9} found {recall[k]:.2f}, "
          f"factor {factor[k]:.2f}, error {p_hat[k] - p_true[k]:+.3f}")
if data.source == "real":
    assert distance["estimated"] < 0.5 * distance["naive"]
    assert after > before + 0.02 and before > 0.8
    assert factor.argmax() == recall.argmin() == 6  # shirt
    if train_size >= 10_000:
        assert (p_hat - p_true).abs().argmax() == 6
worst = torch.linalg.inv(C)[6].sign()  # the errors that hit shirts hardest
assert abs(torch.linalg.solve(C, worst)[6] - factor[6]) < 1e-4

# %% [markdown]
# ### Exercise 4.7-5
#
# Even without a shift the empirical risk differs from the risk.
# Name four reasons, and simulate one of them.

# %% [markdown]
# #### Solution 4.7-5

# %% [markdown]
# The sample is finite, so the mean scatters with a standard deviation of order $1/\sqrt n$.
# Examples may depend on each other: ten frames of one video, or ten measurements of one patient, hold less information than ten independent ones.
# Labels may be wrong: if a share $\rho$ of two-class labels is flipped, a model of error $\epsilon$ is measured at $\epsilon(1-\rho)+(1-\epsilon)\rho$.
# And a model that was chosen on these examples makes their mean loss too small ([Section 4.6](06-generalization-classification.ipynb)).
#
# We simulate dependence.
# If each of 100 patients gives 10 identical measurements, the variance of the mean is that of 100 independent values, ten times that of 1000.
# Intervals that assume independence are then too short by a factor $\sqrt{10}$.

# %%
generator = torch.Generator().manual_seed(10)
independent = torch.rand(5000, 1000, generator=generator) < 0.2
patients = torch.rand(5000, 100, generator=generator) < 0.2
dependent = patients.repeat_interleave(10, dim=1)  # (5000, 1000)
variance = [e.float().mean(dim=1).var().item()
            for e in (independent, dependent)]
print(f"variance ratio {variance[1] / variance[0]:.2f}")
assert 9 < variance[1] / variance[0] < 11

# %%
wrong = torch.rand(100_000, generator=generator) < 0.2  # error 0.2
flipped = torch.rand(100_000, generator=generator) < 0.1  # label noise
measured = (wrong ^ flipped).double().mean().item()
print(f"measured error {measured:.3f}")
assert abs(measured - (0.2 * 0.9 + 0.8 * 0.1)) < 0.006

# %% [markdown]
# ### Exercise 4.7-6
#
# Show by an experiment that flipped labels cannot be detected from inputs.
# How many labels of the target are enough to notice?

# %% [markdown]
# #### Solution 4.7-6

# %% [markdown]
# Source and target have the same inputs in distribution, so the detector is at chance, while the error of a perfect model is 1.
# A single label from the target contradicts a perfect model; a model with error $\epsilon$ on the source makes $k$ errors in a row there with probability $\epsilon^k$, so two or three labels settle the matter for a good model.

# %%
generator = torch.Generator().manual_seed(12)
X = torch.randn(6000, 2, generator=generator)
X = X[X[:, 0].abs() > 0.2]  # a gap between the classes
y = (X[:, 0] > 0).long()
X_src, X_tgt = X[:2000], X[2000:4000]
W, b = fit_logits(X_src, y[:2000], 2, ridge=1e-5)
error_src = 1 - accuracy(X_src @ W + b, y[:2000])
error_tgt = 1 - accuracy(X_tgt @ W + b, 1 - y[2000:4000])  # flipped
found = shift_detector(X_src, X_tgt)[0]
print(f"detector {found:.2f}, error {error_src:.2f} -> {error_tgt:.2f}")
assert 0.45 < found < 0.55
assert error_src == 0 and error_tgt == 1

# %% [markdown]
# ### Exercise 4.7-7
#
# Some descriptions of the correction of label shift define $c_{ij}$ as the share of *all* validation examples that have true class $j$ and answer $i$, and claim that the system (4.7.11) then still returns $p(y)$.
# What does it return?

# %% [markdown]
# #### Solution 4.7-7

# %% [markdown]
# The joint matrix is $\mathbf{J}=\mathbf{C}\operatorname{diag}(\mathbf{q})$ with $\mathbf{q}$ the class shares of the source, so the solution of $\mathbf{J}\mathbf{w}=\boldsymbol{\mu}$ is
#
# $$w_j = \frac{p(y=j)}{q(y=j)}, \tag{4.7.16}$$
#
# the weights and not the shares: shares sum to 1, and for equal shares of $q=3$ classes in the source the weights sum to 3.

# %%
# check 4.7-C5: the joint matrix returns weights instead of shares
counts, naive = (runs[0][k] for k in ("counts", "naive"))
p_true = torch.tensor([0.7, 0.2, 0.1], dtype=f64)
C = (counts / counts.sum(dim=1, keepdim=True)).mT.double()
q_val = counts.sum(dim=1) / counts.sum()  # class shares in validation
J = counts.mT.double() / counts.sum()  # joint: all entries sum to 1
w = torch.linalg.solve(J, naive.double())
p_solved = torch.linalg.solve(C, naive.double())
print("joint matrix:      ", w.numpy().round(3), f"sum {w.sum():.3f}")
print("conditional matrix:", p_solved.numpy().round(3),
      f"sum {p_solved.sum():.3f}")
torch.testing.assert_close(w, p_solved / q_val, atol=1e-5, rtol=0)
assert (w - p_true / q_true).abs().max() < 0.15
assert abs(p_solved.sum() - 1) < 1e-6 and abs(w.sum() - 3) < 0.15

# %% [markdown]
# ### Exercise 4.7-8
#
# In *online learning* data arrive one by one, and the model must predict before it learns the truth:
#
# $$f_t \;\to\; \mathbf{x}_t \;\to\; f_t(\mathbf{x}_t) \;\to\; y_t \;\to\; l(y_t,f_t(\mathbf{x}_t)) \;\to\; f_{t+1}. \tag{4.7.17}$$
#
# In step $t$ the model $f_t$ sees the input $\mathbf{x}_t$, predicts, is told $y_t$, suffers the loss and becomes $f_{t+1}$.
# Let $y_t=\mathbf{w}_t^\top\mathbf{x}_t+\epsilon_t$ with $\mathbf{x}_t\in\mathbb{R}^2$, noise of standard deviation 0.1, and a unit vector $\mathbf{w}_t\in\mathbb{R}^2$ that turns by 0.002 radians in each step.
# Compare a model fitted to the first 200 steps and frozen with one that takes a gradient step on each example, with and without the drift.

# %% [markdown]
# #### Solution 4.7-8

# %% [markdown]
# The online model follows the drift at a distance that can be predicted.
# Let $\eta$ be the rate, $\sigma^2$ the variance of the noise and $\mathbf{e}$ the distance of the model from the truth.
# A step turns $\mathbf{e}$ into $(\mathbf{I}-\eta\mathbf{x}\mathbf{x}^\top)\,\mathbf{e}+\eta\epsilon\mathbf{x}$, and for a standard normal $\mathbf{x}\in\mathbb{R}^d$ the mean of $\|\mathbf{e}\|^2$ settles at $\eta\sigma^2d/(2-\eta(d+2))$.
# A truth that moves by $\delta$ in each step adds a lag of about $\delta/\eta$, for the mean of $\mathbf{e}$ shrinks by the share $\eta$ in each step.
# Together the squared error is about
#
# $$\sigma^2 + \frac{\eta\,\sigma^2d}{2-\eta\,(d+2)} + \left(\frac\delta\eta\right)^2. \tag{4.7.18}$$
#
# A large rate pays for noise, a small one for the lag.
# Without drift the frozen model is slightly better, since it has stopped answering to noise.

# %%
def drift(angle, steps=2000, warm=200, lr=0.06, seed=6):
    """Squared errors (steps,) of an online and of a frozen model."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(steps, 2, generator=generator)
    turn = angle * torch.arange(steps)
    W = torch.stack([turn.cos(), turn.sin()], dim=1)  # truth at each step
    y = (X * W).sum(dim=1) + 0.1 * torch.randn(steps, generator=generator)
    frozen = torch.linalg.lstsq(X[:warm], y[:warm, None]).solution[:, 0]
    w, online = torch.zeros(2), torch.zeros(steps)
    for t in range(steps):
        residual = X[t] @ w - y[t]  # predict first ...
        online[t] = residual**2
        w = w - lr * residual * X[t]  # ... then learn
    return online, (X @ frozen - y)**2

# %%
# check 4.7-C6: under drift the online model follows, the frozen one fails
mean = {}
for name, angle in (("drift", 0.002), ("no drift", 0.0)):
    mean[name] = [e[200:].mean().item() for e in drift(angle)]
    five = sum(drift(angle, seed=seed)[0][200:].mean().item()
               for seed in range(5)) / 5  # one run scatters by some per cent
    expected = 0.01 + 0.06 * 0.01 * 2 / (2 - 0.06 * 4) + (angle / 0.06)**2
    print("{:9} online {:.4f}, frozen {:.4f}".format(name, *mean[name]),
          f" mean of five online runs {five:.4f}, predicted {expected:.4f}")
    assert abs(five / expected - 1) < 0.03
assert mean["drift"][0] < 0.02 and mean["drift"][1] > 1
assert 0.009 < mean["no drift"][1] < mean["no drift"][0] < 0.013

# %% tags=["hide-input"]
online, frozen = drift(0.002)
window = torch.full((1, 1, 50), 1 / 50)  # moving average over 50 steps
smooth = [F.conv1d(e[None, None], window)[0, 0] for e in (online, frozen)]
steps = torch.arange(len(smooth[0])) + 50
ax = d2l.plot(steps, smooth, ["online", "frozen"], xlabel="step",
              ylabel="squared error", yscale="log")
ax.axhline(0.01, color="gray", ls=":", lw=1)
ax.axvline(200, color="gray", lw=0.8)
ax.text(215, 3e-3, "frozen model fixed here", fontsize=8, color="#444444")
ax.set_ylim(2e-3, 10)
late = frozen[600:].split(200)
assert min(e.mean() for e in late) > 1 > 5 * frozen[200:300].mean()
d2l.describe(ax, "Squared error against time on a log axis. The online "
             "model falls to just above the noise level 0.01 and stays; "
             "the frozen model is low until step 200 and then rises by more "
             "than two orders of magnitude.")

# %% [markdown]
# **Figure 4.7.7.** A world that turns slowly (mean over 50 steps; the dotted line is the variance of the noise, which no model can beat).
# The frozen model is good when it is released; after step 600 its mean over each 200 steps is above 1, which is about the mean squared error of the constant answer 0.

# %% [markdown]
# ### Exercise 4.7-9
#
# A site has three advertisements and shows one to each visitor.
# It learns whether *this* visitor clicked on *this* advertisement, and nothing about the other two: a *multi-armed bandit*, with arms as on a slot machine.
# It can *exploit* the arm that looks best or *explore* others, which may be better than they look.
#
# Success is measured by the *regret* after $T$ rounds:
#
# $$R_T = \sum_{t=1}^T\left(\mu^* - \mu_{a_t}\right), \tag{4.7.19}$$
#
# where $\mu_a$ is the mean reward of arm $a$, $a_t$ the arm chosen in round $t$ and $\mu^*=\max_a\mu_a$.
# With means $(0.2,0.5,0.7)$ a uniform choice loses $\frac13(0.5+0.2+0)=\frac7{30}$ a round, 233.3 in 1000 rounds.
# Compare five strategies for 50 independent runs: uniform choice; *greedy*, which tries every arm once and then takes the best mean; *$\varepsilon$-greedy*, which does the same but chooses at random in a share $\varepsilon=0.1$ of the rounds; *UCB* (upper confidence bound), which takes the arm that could be best, mean plus $\sqrt{2\log t/n_a}$ for $n_a$ pulls (compare Hoeffding's bound in [Section 4.6](06-generalization-classification.ipynb)); *Thompson sampling*, which draws a mean for each arm from its posterior, a beta distribution, and takes the largest.

# %% [markdown]
# #### Solution 4.7-9

# %% [markdown]
# Each strategy gets the rewards and numbers of pulls of all arms, for all runs at once, and returns an arm for each run.
# `argmax` gives the first of several equal values, so ties go to the arm with the smallest number, here the worst.
# The last function is the control: it numbers the arms anew in each round, and so breaks ties at random.

# %%
def uniform(wins, pulls, t):
    return torch.randint(3, (len(wins),))


def greedy(wins, pulls, t, bonus=0.0):
    pulled = pulls.clamp(min=1)
    value = wins / pulled + (bonus * math.log(t + 1) / pulled).sqrt()
    return torch.where(pulls > 0, value, torch.inf).argmax(dim=1)


def epsilon_greedy(wins, pulls, t):
    explore = torch.rand(len(wins)) < 0.1
    return torch.where(explore, uniform(wins, pulls, t),
                       greedy(wins, pulls, t))


def ucb(wins, pulls, t):
    return greedy(wins, pulls, t, bonus=2.0)


def thompson(wins, pulls, t):
    return Beta(wins + 1, pulls - wins + 1).sample().argmax(dim=1)


def fair_greedy(wins, pulls, t):
    order = torch.randperm(3)
    return order[greedy(wins[:, order], pulls[:, order], t)]

# %%
def play(choose, means=(0.2, 0.5, 0.7), rounds=1000, runs=50):
    """Cumulative regret (rounds, runs) of a strategy."""
    torch.manual_seed(0)
    means, rows = torch.tensor(means), torch.arange(runs)
    wins, pulls = torch.zeros(2, runs, len(means))
    loss = torch.zeros(rounds, runs)
    for t in range(rounds):
        arm = choose(wins, pulls, t)  # (runs,)
        wins[rows, arm] += torch.bernoulli(means[arm])
        pulls[rows, arm] += 1
        loss[t] = means.max() - means[arm]
    return loss.cumsum(dim=0)

# %%
# check 4.7-C7: regret after 1000 rounds, 50 runs
strategies = {"uniform": uniform, "greedy": greedy, "UCB": ucb,
              "ε-greedy": epsilon_greedy, "Thompson": thompson}
regret = {name: play(choose) for name, choose in strategies.items()}
last = {name: r[-1].mean().item() for name, r in regret.items()}
for name, value in last.items():
    print(f"{name:9} mean {value:6.1f}, worst {regret[name][-1].max():6.1f}")
assert abs(last["uniform"] - 700 / 3) < 5
assert 25 < last["ε-greedy"] < 50 and 35 < last["UCB"] < 55
assert 8 < last["Thompson"] < 17 and 80 < last["greedy"] < 180
assert regret["greedy"][-1].max() > 490
ties = {c.__name__: play(c, runs=1000)[-1] for c in (greedy, fair_greedy)}
stuck = {name: (r > 490).float().mean().item() for name, r in ties.items()}
for name, r in ties.items():
    print(f"{name:11} 1000 runs: mean {r.mean():5.1f}, "
          f"stuck with the worst arm {stuck[name]:.1%}")
assert ties["greedy"].mean() > 1.2 * ties["fair_greedy"].mean() > 50
assert stuck["greedy"] > 2 * stuck["fair_greedy"] > 0.04

# %% tags=["hide-input"]
rounds = torch.arange(1, 1001)
ax = d2l.plot(rounds, [r.mean(dim=1) for r in regret.values()],
              xlabel="round", ylabel="cumulative regret",
              fmts=("-", "--", "-.", ":", "-"), xlim=(0, 1000))
for name, height in zip(last, (0, 0, 8, -6, -4)):
    ax.text(1010, last[name] + height, name, va="center", fontsize=9)
d2l.describe(ax, "Mean cumulative regret against rounds. Uniform grows "
             "fastest, greedy also in a straight line but slower; UCB and "
             "epsilon-greedy stay low, and Thompson sampling is lowest and "
             "nearly flat.")

# %% [markdown]
# **Figure 4.7.8.** Regret of five strategies, mean of 50 runs.
# Greedy is better than uniform on average, but some of its runs stay with the worst arm throughout: an arm whose first pull was unlucky may not be tried again.
# Ties make it worse, since here they go to the worst arm; with ties broken at random fewer than half as many runs are stuck, but some are.
# The better strategies keep exploring.
#
# UCB explores much here and pays for it.
# In return, its expected regret provably grows only like $\log T$ for every set of means, while that of $\varepsilon$-greedy with constant $\varepsilon$ grows like $T$.

# %% [markdown]
# ### Exercise 4.7-10
#
# In *control* the environment remembers: whether a boiler should heat depends on whether it was heating a minute ago.
# The PID controller reacts to the present error (P), to its sum over time (I) and to its rate of change (D).
# Let $T$ be the temperature of the water in °C, time in minutes, and $u\ge0$ the heating rate:
#
# $$\frac{dT}{dt} = -0.02\,(T-20) + u, \qquad u = k_P\,e + k_I\int e\,dt, \qquad e = 92 - T. \tag{4.7.20}$$
#
# The first term is the loss of heat to a kitchen at 20 °C, $e$ is the distance from the wanted 92 °C, and $k_P$, $k_I$ are the gains.
# At which temperature does it settle with $k_P=0.2$ and $k_I=0$?
# What does the integral change?

# %% [markdown]
# #### Solution 4.7-10

# %% [markdown]
# With $k_I=0$ the temperature settles where heating balances loss, $0.02\,(T-20)=k_P(92-T)$:
#
# $$T_\infty = 20 + 72\,\frac{k_P}{k_P+0.02}, \tag{4.7.21}$$
#
# which for $k_P=0.2$ is 85.45, too cold: without an error the controller would not heat at all.
# The sum of errors removes the gap, since it keeps growing until the error is zero.
# It needs a guard against *windup*: while the heater is at a limit, 0 or (in the code) 3 degrees a minute, the sum must stand still, or the temperature overshoots later.

# %%
def boiler(k_p, k_i, minutes=400, limit=3.0):
    """Temperatures (minutes,) of a controlled boiler, from 20 degrees."""
    temperature, total, record = 20.0, 0.0, []
    for _ in range(minutes):
        error = 92 - temperature
        wanted = k_p * error + k_i * total
        u = min(max(wanted, 0.0), limit)
        if u == wanted:  # anti-windup: no summing at the limit
            total += error
        temperature += -0.02 * (temperature - 20) + u
        record.append(temperature)
    return torch.tensor(record)

# %%
# check 4.7-C8: P control settles too low, PI control on the target
P, PI = boiler(0.2, 0.0), boiler(0.2, 0.01)
print(f"P {P[-1]:.2f}, PI {PI[-1]:.2f} degrees")
assert abs(P[-1] - (20 + 72 * 0.2 / 0.22)) < 0.01
assert abs(P[-1] - 85.45) < 0.01 and abs(PI[-1] - 92) < 0.01
assert PI.max() < 92.5  # the guard against windup

# %%
ax = d2l.plot(torch.arange(1, 201), [P[:200], PI[:200]],
              ["P control", "PI control"], xlabel="time in minutes",
              ylabel="temperature in °C")
ax.axhline(92, color="gray", ls=":", lw=1)
d2l.describe(ax, "Temperature against time. Both rise from 20 degrees "
             "within half an hour; P control stays at 85.5 degrees, PI "
             "control goes on to the target of 92 degrees.")

# %% [markdown]
# **Figure 4.7.9.** A controller that reacts only to the present error keeps one; with the sum of errors it reaches the target (dotted).

# %% [markdown]
# ### Exercise 4.7-11
#
# *Reinforcement learning* looks for actions that maximize the *cumulative* reward, although a reward may come long after the action that earned it.
# The smallest example is a chain of five states, $0,\dots,4$.
# The actions are left and right; the only reward, 1, is paid on reaching state 4, where the game ends.
# The reward of the current step counts in full; each step of delay multiplies it by the *discount* $\gamma=0.9$.
# *Q-learning* keeps a table of the value $Q(s,a)$ of action $a$ in state $s$, and after a step to state $s'$ with reward $r$ moves an entry by the rate $\alpha$ towards what was just seen:
#
# $$Q(s,a) \leftarrow Q(s,a) + \alpha\left(r + \gamma\max_{a'}Q(s',a') - Q(s,a)\right). \tag{4.7.22}$$
# Learn the table from a player who moves at random, and compare with the values that follow from the rules.

# %% [markdown]
# #### Solution 4.7-11

# %% [markdown]
# From state $s$ the reward is $4-s$ steps to the right away, so $Q(s,\text{right})=0.9^{3-s}$: 0.729, 0.81, 0.9, 1.
# Nobody tells the table this; it learns from a player who moves at random.

# %%
# check 4.7-C9: values propagate from the reward to the start
generator = torch.Generator().manual_seed(7)
Q = torch.zeros(5, 2, dtype=f64)  # actions: 0 left, 1 right
for episode in range(300):
    s = 0
    while s != 4:
        a = torch.randint(2, (), generator=generator).item()
        s_next = min(max(s + 2 * a - 1, 0), 4)
        r = float(s_next == 4)
        goal = r + 0.9 * Q[s_next].max()  # Q[4] stays 0: the game is over
        Q[s, a] += 0.5 * (goal - Q[s, a])
        s = s_next
print(Q[:4].mT.numpy().round(3))
expected = torch.tensor([0.729, 0.81, 0.9, 1.0], dtype=f64)
torch.testing.assert_close(Q[:4, 1], expected, atol=1e-3, rtol=0)
assert (Q[:4, 1] > Q[:4, 0]).all()

# %% [markdown]
# [Section 1.5](../01-introduction/05-environment-and-reinforcement-learning.ipynb) computes the same values from the known rules of the chain; here they were learned without the rules.

# %% [markdown]
# ### Exercise 4.7-12
#
# *Model collapse* in one dimension: fit a normal distribution to $n=50$ numbers by maximum likelihood, draw 50 new numbers from the fit, fit again, and so on.
# What happens to the variance after 100 generations?
# Compare with a second history in which each generation is fitted to all numbers so far, the original ones included.

# %% [markdown]
# #### Solution 4.7-12

# %% [markdown]
# The maximum-likelihood variance has the expectation $(1-\frac1n)\sigma^2$, so replacing the data multiplies the expected variance by $1-\frac1n$ in each generation: $0.98^{100}\approx0.13$ is left after 100 fits.
# The median is far smaller, since the errors multiply: a few histories with a large variance keep up the mean, and even over 1000 histories it has a standard error of about 0.03.
# With accumulated data a generation $g$ adds only a share $1/g$, and the loss slows down: after 100 generations most of the variance is still there.

# %%
def generations(accumulate, n=50, count=100, runs=1000):
    """Variance (runs,) after `count` fits to data drawn from the last."""
    generator = torch.Generator().manual_seed(15)
    x = torch.randn(runs, n, generator=generator, dtype=f64)
    total, squares, size = x.sum(dim=1), (x**2).sum(dim=1), n
    for _ in range(count):
        mean = total / size
        variance = squares / size - mean**2  # maximum likelihood
        x = mean[:, None] + variance.sqrt()[:, None] * torch.randn(
            runs, n, generator=generator, dtype=f64)
        if not accumulate:
            total, squares, size = 0, 0, 0
        total, squares = total + x.sum(dim=1), squares + (x**2).sum(dim=1)
        size += n
    return variance


replaced, kept = generations(False), generations(True)
for name, v in (("replaced", replaced), ("accumulated", kept)):
    print(f"{name:12} mean variance {v.mean():.2f}, median "
          f"{v.median():.2f}")
early = generations(False, count=10, runs=20_000).mean()
assert abs(early - 0.98**10) < 0.01
assert replaced.median() < 0.98**100 / 3 and kept.median() > 0.8

# %% [markdown]
# ## Sources
#
# - H. Shimodaira (2000), *Improving predictive inference under covariate shift by weighting the log-likelihood function*, Journal of Statistical Planning and Inference 90. [doi:10.1016/S0378-3758(00)00115-4](https://doi.org/10.1016/S0378-3758(00)00115-4). The example (4.7.6) is his.
# - M. Saerens, P. Latinne, C. Decaestecker (2002), *Adjusting the outputs of a classifier to new a priori probabilities*, Neural Computation 14. [doi:10.1162/089976602753284446](https://doi.org/10.1162/089976602753284446).
# - Z. Lipton, Y.-X. Wang, A. Smola (2018), *Detecting and correcting for label shift with black box predictors*. [arXiv:1802.03916](https://arxiv.org/abs/1802.03916).
# - A. Menon and others (2021), *Long-tail learning via logit adjustment*. [arXiv:2007.07314](https://arxiv.org/abs/2007.07314).
# - S. Rabanser, S. Günnemann, Z. Lipton (2019), *Failing loudly: an empirical study of methods for detecting dataset shift*. [arXiv:1810.11953](https://arxiv.org/abs/1810.11953).
# - R. Geirhos and others (2020), *Shortcut learning in deep neural networks*. [arXiv:2004.07780](https://arxiv.org/abs/2004.07780).
# - D. Ensign and others (2018), *Runaway feedback loops in predictive policing*. [arXiv:1706.09847](https://arxiv.org/abs/1706.09847).
# - T. Lattimore, C. Szepesvári (2020), *Bandit algorithms*, Cambridge University Press. [doi:10.1017/9781108571401](https://doi.org/10.1017/9781108571401).
# - P. W. Koh and others (2021), *WILDS: a benchmark of in-the-wild distribution shifts*. [arXiv:2012.07421](https://arxiv.org/abs/2012.07421).
# - J. Byrd, Z. Lipton (2019), *What is the effect of importance weighting in deep learning?* [arXiv:1812.03372](https://arxiv.org/abs/1812.03372).
# - I. Shumailov and others (2024), *AI models collapse when trained on recursively generated data*, Nature 631. [doi:10.1038/s41586-024-07566-y](https://doi.org/10.1038/s41586-024-07566-y); M. Gerstgrasser and others (2024), *Is model collapse inevitable?* [arXiv:2404.01413](https://arxiv.org/abs/2404.01413).
# - A. Zhang, Z. Lipton, M. Li, A. Smola, *Dive into Deep Learning*, Section 4.7, from which the outline of topics and most of the stories come. [d2l.ai](https://d2l.ai).
