# ---
# jupyter:
#   d2l:
#     data: [brown]
#     profiles:
#       gpu: {}
#       smoke:
#         num_steps: 400
#         largest: 9
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
# # 15.2 Approximate training
#
# The softmax of [Section 15.1](01-word2vec.ipynb) compares a center word with every word of the vocabulary, for each pair that it learns from.
# With tens of thousands of words, nearly all of that work goes into a sum in the denominator.
# This section avoids the sum in two ways, asks of each what it then learns, and counts what it saves.
#
# **You will**
#
# - derive negative sampling, and say which score it learns, under which conditions;
# - tell it from noise-contrastive estimation and from InfoNCE, the loss of today's sentence embeddings;
# - build a Huffman tree over a vocabulary, and compute a word's probability along its path;
# - count the work of each method for one pair, and see where a densely stored gradient gives part of the saving back.
#
# **Cost**: about half a minute on a CPU, no use for a GPU; a download of 3 MB (10 MB unpacked).

# %%
import heapq
import math
import time
from collections import Counter

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (entropy,
                                                        huffman_lengths)
from d2l_helpers.texts import word_sentences

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
num_steps = 4000  # steps of gradient descent with and without negatives
largest = 15  # the times are measured up to a vocabulary of 2 ** largest

# %% [markdown]
# ## Two ways around a sum
#
# The skip-gram model of [Section 15.1](01-word2vec.ipynb) gives a context word $w_o$ the probability
#
# $$P(w_o\mid w_c) = \frac{\exp(\mathbf{u}_o^\top\mathbf{v}_c)}{\sum_{i\in\mathcal V}\exp(\mathbf{u}_i^\top\mathbf{v}_c)}. \tag{15.2.1}$$
#
# Here $w_c$ is the center word with the vector $\mathbf{v}_c\in\mathbb{R}^d$, $\mathbf{u}_i\in\mathbb{R}^d$ is the vector of word $i$ as a context word, and $\mathcal V$ is the vocabulary, a set of $|\mathcal V|$ words.
# The sum needs $|\mathcal V|$ inner products, and since each of them depends on its own $\mathbf{u}_i$, the gradient touches all $|\mathcal V|$ context vectors.
# For $|\mathcal V|=10\,000$ and $d=100$ that is a million multiplications for the scores of a single pair, and a corpus has millions of pairs.

# %% tags=["hide-input"]
def draw_tree(ax, x, top, low, path, color):
    """A complete tree above the places x, drawn from y = top to low."""
    depth = int(math.log2(len(x)))
    rows = [x]
    while len(rows[-1]) > 1:
        rows.append(rows[-1].reshape(-1, 2).mean(dim=1))
    y = torch.linspace(low, top, depth + 1)
    for level in range(depth):
        for i, place in enumerate(rows[level]):
            on = i == path >> level
            ax.plot([place, rows[level + 1][i // 2]], y[level:level + 2],
                    color=color if on else "0.8", lw=2 if on else 1,
                    zorder=2 if on else 1)
    for level in range(1, depth + 1):
        on = torch.arange(len(rows[level])) == path >> level
        ax.scatter(rows[level], y[level].expand(len(on)), s=22, zorder=3,
                   color=[color if hit else "0.8" for hit in on])

# %% tags=["hide-input"]
words, target, noise = 16, 5, (1, 8, 10, 11, 14)
x = torch.arange(float(words))
fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.5))
for ax, title in zip(axes, ("full softmax", "negative sampling",
                            "hierarchical softmax")):
    ax.set_title(title)
    if title.startswith("h"):
        draw_tree(ax, x, 1, 0, target, "#0072B2")
    else:
        for i in range(words):
            if title.startswith("f") or i == target or i in noise:
                ax.plot([x.mean(), i], [1, 0], lw=2 if i == target else 1.2,
                        color="#0072B2" if i == target else "#E69F00")
    ax.scatter(x, torch.zeros(words), s=26, zorder=3, color=[
        "#0072B2" if i == target else "0.4" for i in range(words)])
    ax.scatter(x.mean(), 1, s=60, marker="s", color="0.2", zorder=4)
    ax.set(ylim=(-0.15, 1.15), xticks=[], yticks=[], xlabel="vocabulary")
    ax.grid(False)
    ax.spines[:].set_visible(False)
d2l.describe(axes, """Three panels, each with a square, the center word, above
    a row of 16 dots, the vocabulary. Full softmax: lines run from the square
    to all 16 dots. Negative sampling: a blue line to the context word and
    orange lines to five other dots. Hierarchical softmax: a binary tree
    stands between square and dots, and the path to the context word, four
    edges long, is blue.""")

# %% [markdown]
# **Figure 15.2.1.** What one pair of a center word (square) and its context word (blue) touches: everything, a few random words, or one path of a tree.

# %% [markdown]
# *Negative sampling* replaces the question.
# It no longer asks which of $|\mathcal V|$ words is the context word, but whether a given word is a true context word or a random one; this is the loss of word2vec (Mikolov et al., 2013b).
# *Hierarchical softmax* keeps the question, and replaces the model by one whose probabilities sum to 1 without a sum over the vocabulary.
# Goodman (2001) predicted the class of a word first and then the word; Morin and Bengio (2005) made this a binary tree.
#
# ## Negative sampling
#
# Let $D=1$ mean that a pair of words was observed in the text.
# The model of this event is logistic regression on the score,
#
# $$P(D=1\mid w_c,w_o) = \sigma(\mathbf{u}_o^\top\mathbf{v}_c),\qquad \sigma(x) = \frac1{1+e^{-x}}, \tag{15.2.2}$$
#
# with the vectors of (15.2.1) and the sigmoid $\sigma$, a number between 0 and 1.
#
# Maximizing this over the observed pairs is no use.
# Give all words the same long vector: every score is large and every probability near 1, whatever the text says.
# There is not even a best solution: every loss is positive, and comes as near to 0 as we like when such vectors grow.
# The remedy is to show pairs that should get the answer no.
# For every observed pair we draw $K$ *negatives* $h_1,\dots,h_K$ from a *noise distribution* $P_n$ over the vocabulary, independently of everything else, and minimize
#
# $$\ell = -\log\sigma(\mathbf{u}_o^\top\mathbf{v}_c) - \sum_{k=1}^K\log\sigma(-\mathbf{u}_{h_k}^\top\mathbf{v}_c). \tag{15.2.3}$$
#
# The second term uses $1-\sigma(x)=\sigma(-x)$.
# Scores of 2 for the observed word and of $-1$ and $0$ for two negatives give $0.127+0.313+0.693=1.133$.

# %% tags=["export"]
def neg_sampling_loss(v, u_pos, u_neg):
    """The loss of negative sampling, one number for each pair.

    `v` (b, d) are center vectors, `u_pos` (b, d) those of the observed
    context words, `u_neg` (b, K, d) those of K negatives for each pair; K
    may be 0. Returns (b,), in nats: the sum over the 1 + K terms. Raises a
    ValueError for other shapes. Source: Mikolov et al. (2013b), eq. 4.
    """
    if (v.ndim != 2 or u_pos.shape != v.shape or u_neg.ndim != 3
            or (u_neg.shape[0], u_neg.shape[2]) != v.shape):
        raise ValueError(
            "v and u_pos must have the same shape (b, d) and u_neg the "
            f"shape (b, K, d); got {tuple(v.shape)}, {tuple(u_pos.shape)} "
            f"and {tuple(u_neg.shape)}.")
    positive = (u_pos * v).sum(dim=1)  # (b,)
    negative = (u_neg @ v.unsqueeze(2)).squeeze(2)  # (b, K)
    return -F.logsigmoid(positive) - F.logsigmoid(-negative).sum(dim=1)

# %% [markdown]
# This is the sum of $K+1$ binary cross-entropies with the label 1 for the observed word and 0 for the negatives.
# `logsigmoid` keeps it finite where $\sigma$ itself would round to 0 or to 1.

# %%
# check 15.2-C1: the loss is a sum of binary cross-entropies
generator = torch.Generator().manual_seed(0)
b, K, d = 4, 5, 8
v, u_pos = torch.randn(2, b, d, generator=generator, dtype=f64)
u_neg = torch.randn(b, K, d, generator=generator, dtype=f64)
loss = neg_sampling_loss(v, u_pos, u_neg)
scores = torch.stack([torch.cat((u_pos[i:i + 1], u_neg[i])) @ v[i]
                      for i in range(b)])  # (b, K + 1)
labels = torch.zeros(b, K + 1, dtype=f64)
labels[:, 0] = 1
bce = F.binary_cross_entropy_with_logits(scores, labels, reduction="none")
torch.testing.assert_close(loss, bce.sum(dim=1))
one = torch.ones(1, 1)
small = neg_sampling_loss(one, 2 * one, torch.tensor([[[-1.0], [0.0]]]))
assert abs(small.item() - 1.133) < 5e-4
far = neg_sampling_loss(one, -200 * one, 200 * one.unsqueeze(1))
torch.testing.assert_close(far, torch.tensor([400.0]))  # finite
none = neg_sampling_loss(v, u_pos, u_neg[:, :0])  # K = 0
torch.testing.assert_close(none, -F.logsigmoid(scores[:, 0]))

# %% tags=["hide-input"]
for wrong in ((v, u_pos, u_neg[0]), (v, u_pos[:2], u_neg),
              (v, u_pos, u_neg[:, :, :3]), (v[0], u_pos[0], u_neg)):
    try:
        neg_sampling_loss(*wrong)
        raise AssertionError("vectors of the wrong shape were accepted")
    except ValueError as error:
        assert str(tuple(wrong[2].shape)) in str(error)

# %% [markdown]
# ### At most $K+1$ context vectors get a gradient
#
# For one pair, the gradient of (15.2.3) with respect to a context vector is
#
# $$\frac{\partial\ell}{\partial\mathbf{u}_o} = -\sigma(-\mathbf{u}_o^\top\mathbf{v}_c)\,\mathbf{v}_c,\qquad \frac{\partial\ell}{\partial\mathbf{u}_{h_k}} = \sigma(\mathbf{u}_{h_k}^\top\mathbf{v}_c)\,\mathbf{v}_c, \tag{15.2.4}$$
#
# each a vector in $\mathbb{R}^d$; a word that is drawn twice gets both parts.
# The observed word is pulled toward the center word, the negatives are pushed away, each with a force that fades as the answer becomes right.
# All other rows of the table have the gradient zero, so a step of plain gradient descent leaves them alone (Adam, which remembers earlier gradients, may still move them).

# %%
# check 15.2-C6: the gradient touches K + 1 rows, the softmax all of them
V, K, d = 1000, 5, 16
U = torch.randn(V, d, generator=generator).requires_grad_()
v = torch.randn(1, d, generator=generator)
o, h = torch.tensor([7]), torch.tensor([[3, 50, 123, 777, 999]])
by_sampling, = torch.autograd.grad(neg_sampling_loss(v, U[o], U[h]).sum(), U)
by_softmax, = torch.autograd.grad(F.cross_entropy(v @ U.mT, o), U)
rows = by_sampling.abs().sum(dim=1).nonzero().flatten()  # (K + 1,)
print("rows with a gradient:", rows.tolist())
assert rows.tolist() == sorted([7, *h[0].tolist()])
assert (by_softmax.abs().sum(dim=1) > 0).all()
pull = torch.sigmoid(-(U[7] @ v[0])) * v[0]  # (15.2.4)
push = torch.sigmoid(U[3] @ v[0]) * v[0]
torch.testing.assert_close(by_sampling[[7, 3]], torch.stack((-pull, push)))

# %% [markdown]
# ## What it learns
#
# The loss (15.2.3) is not an estimate of the softmax loss, so which scores minimize it?
# Let $P(w_c,w_o)$ be the probability that a random pair of the text is $(w_c,w_o)$, and $s$ the score of this pair.
# For each pair drawn from the text, this pair comes up as the observed one with probability $P(w_c,w_o)$, and among the $K$ negatives $K\,P(w_c)\,P_n(w_o)$ times on average.
# Its share in the expected loss is
#
# $$\bar\ell(s) = -P(w_c,w_o)\log\sigma(s) - K\,P(w_c)\,P_n(w_o)\log\sigma(-s), \tag{15.2.5}$$
#
# a number for each pair; the expected loss is the sum over all pairs.
# The derivative is $-P(w_c,w_o)\,\sigma(-s)+K\,P(w_c)\,P_n(w_o)\,\sigma(s)$.
# It grows with $s$, and vanishes where $\sigma(s)/\sigma(-s)=e^s$ is the ratio of the two weights:
#
# $$s^* = \mathbf{u}_o^\top\mathbf{v}_c = \log\frac{P(w_o\mid w_c)}{P_n(w_o)}-\log K. \tag{15.2.6}$$
#
# With the *unigram distribution*, in which $P_n(w)=P(w)$ is the share of $w$ among the context words, the first term is the *pointwise mutual information* (PMI) of the two words, $\log\frac{P(w_c,w_o)}{P(w_c)P(w_o)}$: it says how much more often they meet than independent words would.
# Levy and Goldberg (2014) found this *shifted PMI*.
# It holds under two conditions: every score can take its own value, for which $d\ge|\mathcal V|$ is enough (we call such vectors *unconstrained*), and the negatives do not depend on the context.
# A pair that never occurs has no finite optimum; its score wants to be $-\infty$.
#
# For $P(w_o\mid w_c)=0.02$, $P_n(w_o)=0.01$ and $K=5$, the score is $\log2-\log5=-0.916$.
# If one averages over the negatives instead of summing, the shift disappears and the score is $\log2$.

# %%
# check 15.2-C2: the optimum of one score, found numerically
def minimize(loss, *start):
    """Minimize with L-BFGS; returns the minimizers and the gradient norm."""
    free = [x.clone().requires_grad_() for x in start]
    optim = torch.optim.LBFGS(free, max_iter=2000, tolerance_grad=1e-9,
                              tolerance_change=0, history_size=40,
                              line_search_fn="strong_wolfe")

    def closure():
        optim.zero_grad()
        value = loss(*free)
        value.backward()
        return value

    optim.step(closure)
    norm = torch.cat([x.grad.flatten() for x in free]).norm().item()
    return *(x.detach() for x in free), norm


for weight, found in ((5, math.log(2) - math.log(5)), (1, math.log(2))):
    s, norm = minimize(lambda s: -0.02 * F.logsigmoid(s)
                       - weight * 0.01 * F.logsigmoid(-s),
                       torch.zeros((), dtype=f64))
    print(f"weight {weight} of the negatives: optimal score {s:.6f}")
    assert abs(s - found) < 1e-5 and norm < 1e-8
    assert weight == 1 or abs(s + 0.916291) < 1e-5

# %% [markdown]
# ### Positives alone, and with negatives
#
# We watch both losses, without negatives and with them, on a toy language of ten words in which every pair occurs.
# Its law is known, so we can train on the expected loss, the sum of (15.2.5) over all pairs, without any noise from sampling.
# The gradient with respect to the matrix of scores is the derivative above; with respect to the vectors it is a product of matrices.

# %%
def toy_law(seed, num_words=10):
    """A symmetric law of pairs (V, V), and the law of its words (V,)."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randn(num_words, num_words, generator=generator,
                        dtype=f64).exp()
    pairs = (pairs + pairs.mT) / (2 * pairs.sum())
    return pairs, pairs.sum(dim=0)


def vector_norms(K, seeds=(0, 1, 2), d=10, lr=3.0):
    """Root mean square norm of the center vectors at each step, per seed."""
    laws = [toy_law(seed) for seed in seeds]
    pairs = torch.stack([pairs for pairs, _ in laws])  # (seeds, V, V)
    noise = torch.stack([torch.outer(p, p) for _, p in laws])
    generator = torch.Generator().manual_seed(0)
    A, B = 0.1 * torch.randn(2, len(seeds), 10, d, generator=generator,
                             dtype=f64)
    norms = []
    for _ in range(num_steps):
        S = A @ B.mT  # row: center word, column: context word
        G = K * noise * torch.sigmoid(S) - pairs * torch.sigmoid(-S)
        A, B = A - lr * G @ B, B - lr * G.mT @ A
        norms.append(A.square().sum(dim=2).mean(dim=1).sqrt())
    return torch.stack(norms), A @ B.mT

# %%
# check 15.2-C7: without negatives the vectors grow, with five they settle
norms, end = {}, {}
for K in (0, 5):
    norms[K], end[K] = vector_norms(K)
early, late = num_steps // 10 - 1, num_steps - 1
growth = {K: norms[K][late] / norms[K][early] for K in (0, 5)}  # 3 seeds
for K, ratio in growth.items():
    print(f"{K} negatives: norm at step {late + 1} over step {early + 1}:",
          [f"{r:.3f}" for r in ratio.tolist()])
if num_steps >= 4000:
    assert growth[0].min() > 1.1 and (growth[5] - 1).abs().max() < 0.03
assert (end[0] > 0).all() and (end[5] < 0).any()

# %% tags=["hide-input"]
steps = torch.arange(1, num_steps + 1)
fig, ax = plt.subplots(figsize=(5.6, 3))
for K, color, label in ((0, "C1", "positives only"),
                        (5, "C0", "5 negatives")):
    for seed in range(3):
        ax.plot(steps, norms[K][:, seed], color=color, lw=1.4,
                label=label if seed == 0 else None)
ax.set(xscale="log", xlabel="step of gradient descent",
       ylabel="norm of the center vectors", ylim=(0, None))
ax.legend()
d2l.describe(ax, """Norm of the center vectors over the steps on a logarithmic
    axis, three toy languages each. With positives only the curves keep
    rising to the last step; with five negatives they are level.""")

# %% [markdown]
# **Figure 15.2.2.** Three toy languages, the same start and learning rate: with positives only the vectors keep growing, with five negatives they level off.

# %% [markdown]
# Without negatives every score ends positive, and the norm has grown by more than a tenth over the last nine tenths of the steps; with negatives it has changed by less than 3 %.
# The growth is slow, since the force in (15.2.4) fades.
#
# ### The fixed point, and two ways to leave it
#
# Now we minimize the expected loss to convergence in three settings, for the first of the toy languages and $K=5$: unconstrained vectors with $d=|\mathcal V|$, vectors of dimension 2, and unconstrained vectors with other negatives.
# The last setting rejects a negative that is one of the two context words of the same window and draws again, a rule of Zhang et al. (2023), so the negatives depend on the context.
# Such a rule changes how often a word is a negative of $w_c$, and (15.2.6) holds with this rate in place of $P_n$.

# %%
def rejecting_rates(P, noise):
    """How often each word is a negative if window words are rejected.

    `P` (V, V) is P(context | center), `noise` (V,) the law of the draws.
    The window holds two context words a and b, drawn independently.
    """
    rates = torch.zeros_like(P)
    for a in range(len(noise)):
        for b in range(len(noise)):
            allowed = noise.clone()
            allowed[[a, b]] = 0
            rates += torch.outer(P[:, a] * P[:, b], allowed / allowed.sum())
    return rates


def expected_loss(S, pairs, rates, K):
    """The sum of (15.2.5) over all pairs; `rates` (V, V) or (V,)."""
    weights = K * pairs.sum(dim=1, keepdim=True) * rates
    return -(pairs * F.logsigmoid(S) + weights * F.logsigmoid(-S)).sum()

# %%
pairs, unigram = toy_law(seed=0)
P = pairs / unigram[:, None]  # row c: P(w_o | w_c)
pmi = (P / unigram).log()
K, V = 5, len(unigram)
moved = rejecting_rates(P, unigram)
torch.testing.assert_close(moved.sum(dim=1), torch.ones(V, dtype=f64))
c, o, h = torch.cartesian_prod(*3 * [torch.arange(V)]).mT  # K = 1
chance = pairs[c, o] * unigram[h]  # of center, context word, negative
average = chance @ neg_sampling_loss(  # vectors whose scores are the PMI
    torch.eye(V, dtype=f64)[c], pmi.mT[o], pmi.mT[h].unsqueeze(1))
torch.testing.assert_close(average, expected_loss(pmi, pairs, unigram, 1))
settings = {"d = 10": (10, unigram), "d = 2": (2, unigram),
            "d = 10, window rejected": (10, moved)}

# %%
def fit_scores(d, rates, seed=1):
    """Scores (V, V) of vectors of dimension d at the optimum, and the loss."""
    start = 0.3 * torch.randn(2, V, d, dtype=f64,
                              generator=torch.Generator().manual_seed(seed))
    A, B, norm = minimize(
        lambda A, B: expected_loss(A @ B.mT, pairs, rates, K), *start)
    assert norm < 1e-5  # converged
    return A @ B.mT, expected_loss(A @ B.mT, pairs, rates, K)


learned = {}
for name, setting in settings.items():
    learned[name], least = fit_scores(*setting)
    error = (learned[name] - (pmi - math.log(K))).abs()
    print(f"{name:24} largest distance from (15.2.6) {error.max():.3f}")
    for seed in (2, 3):  # other starts end at the same loss
        torch.testing.assert_close(fit_scores(*setting, seed)[1], least)
free, narrow, rejected = learned.values()
assert (free - pmi + math.log(K)).abs().max() < 1e-3
if num_steps >= 4000:  # the first run with five negatives ended there too
    assert (end[5][0] - pmi + math.log(K)).abs().max() < 1e-3
assert (narrow - pmi + math.log(K)).abs().max() > 0.5
assert (rejected - pmi + math.log(K)).abs().max() > 0.3
assert (rejected - (P / moved / K).log()).abs().max() < 1e-3
assert torch.linalg.svdvals(narrow)[2] < 1e-9  # rank 2
third = torch.linalg.svdvals(pmi - math.log(K))[2].item()
print(f"no matrix of rank 2 comes nearer than {third / V:.3f}")
assert third / V > 0.3 and (narrow - pmi + math.log(K)).norm() > third
for seed in (0, 1, 2):  # by the formula that the run above confirmed
    pairs_, law = toy_law(seed)
    P_ = pairs_ / law[:, None]
    lift = (law / rejecting_rates(P_, law)).log()  # what rejecting adds
    assert lift[P_ > 1.5 * law].mean() > 0.1
    assert lift[P_ < law / 1.5].mean() < -0.1

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.8), sharex=True, sharey=True)
ends = torch.tensor([pmi.min(), pmi.max()])
for ax, (name, S) in zip(axes, learned.items()):
    ax.plot(ends, ends - math.log(K), color="0.5", lw=1)
    ax.scatter(pmi, S, s=12, color="C0")
    ax.set(title=name, xlabel="PMI")
axes[0].set_ylabel("learned score")
d2l.describe(axes, """Learned scores over the PMI of the 100 pairs, with the
    line PMI minus log 5. For d = 10 all points lie on the line. For d = 2
    they scatter around it. For d = 10 with window words rejected they lie
    near a steeper curve: above the line for large PMI, below for small.""")

# %% [markdown]
# **Figure 15.2.3.** Learned scores against PMI, and the line (15.2.6), in three settings, each trained to convergence.

# %% [markdown]
# The theorem is exact where its conditions hold, and fails visibly in both other settings.
# With $d=2$ the scores are a compromise, because their matrix has rank 2 at most.
# The [third singular value](../02-preliminaries/03-linear-algebra.ipynb) of the matrix of the scores (15.2.6) bounds how near any such matrix comes, whatever the loss; divided by $|\mathcal V|$, it bounds the largest deviation from below.
# Real word vectors must compromise too: most pairs of a large vocabulary never occur, and finite vectors do not reach their $-\infty$.
# Rejecting window words raises, on average, the scores of pairs with a large PMI and lowers those with a small one, in all three toy languages: frequent companions appear less often as negatives.
# With ten words a window holds much of the noise, so the move is large; how large it is for a real vocabulary we have not measured.
#
# ### No normalized model
#
# At the fixed point, $e^{s}$ is $P(w_o\mid w_c)$ divided by $K\,P_n(w_o)$, so the softmax of the scores is the conditional probability only if $P_n$ is uniform.
# The classifier's probability is another quantity again: by (15.2.2), $\sigma(s^*)$ is $P(w_o\mid w_c)$ divided by $P(w_o\mid w_c)+K\,P_n(w_o)$, too large wherever this sum is below 1, which it is for most pairs of a large vocabulary.
# *Noise-contrastive estimation*, NCE (Gutmann and Hyvärinen, 2010; for language models Mnih and Teh, 2012), from which negative sampling was simplified, keeps the correction in the loss: it uses $\sigma\bigl(s-\log(K\,P_n(w_o))\bigr)$ in place of $\sigma(s)$, and its optimum is $s=\log P(w_o\mid w_c)$.
#
# A relative in wide use today is *InfoNCE* (van den Oord et al., 2018): the observed word has to be recognized among the $K$ negatives by a softmax over these $K+1$ scores,
#
# $$\ell = -\log\frac{\exp(s_o)}{\exp(s_o)+\sum_{k=1}^K\exp(s_{h_k})}, \tag{15.2.7}$$
#
# where $s_i$ is the score of word $i$ with the center word, the *query*.
# Which of $K+1$ given words was the observed one, if the others are noise?
# By Bayes' rule, word $i$ with a probability proportional to $P(w_i\mid w_c)/P_n(w_i)$, and the loss is smallest when the softmax says just this.
# So, with unigram negatives, the optimum is the PMI for every $K$, up to a constant for each query, which cancels; negative sampling also fixes that constant.
# Leaving it open can be an advantage: Ma and Collins (2018) show that ranking among the negatives estimates conditional models consistently under weaker assumptions than the binary classification of NCE.
# CLIP (Radford et al., 2021) and many sentence embeddings ([Section 16.6](../16-nlp-applications/06-finetuning-bert.ipynb)) are trained with this form of loss, with the other examples of the batch as negatives.
# Where their scores are cosines divided by a temperature, as in CLIP, they are bounded, and the optimum is again an ideal.

# %%
def info_nce(S):
    """Expected (15.2.7) for two negatives, by summing over all of them."""
    both = torch.logaddexp(S[:, :, None], S[:, None, :])  # (V, h1, h2)
    odds = both[:, None] - S[:, :, None, None]  # (V, o, h1, h2)
    weights = pairs[:, :, None, None] * torch.outer(unigram, unigram)
    return (weights * F.softplus(odds)).sum()


def info_nce_one(S):
    """The same for one negative."""
    odds = S[:, None, :] - S[:, :, None]  # (V, o, h)
    return (pairs[:, :, None] * unigram * F.softplus(odds)).sum()


def nce(S):
    """Expected loss of NCE, with the correction of the scores."""
    return expected_loss(S - (K * unigram).log(), pairs, unigram, K)


zeros = torch.zeros(V, V, dtype=f64)
by_nce, _ = minimize(nce, zeros)
for loss in (info_nce_one, info_nce):
    constants = minimize(loss, zeros)[0] - pmi  # the same along each row?
    print("InfoNCE minus PMI: spread within a row "
          f"{constants.std(dim=1).max():.3f}")
    assert constants.std(dim=1).max() < 1e-4
torch.testing.assert_close(by_nce, P.log(), atol=1e-4, rtol=0)

# %%
shift = torch.arange(V, dtype=f64)[:, None]
torch.testing.assert_close(info_nce(pmi + shift), info_nce(pmi))
assert expected_loss(free + shift, pairs, unigram, K) > 1 + expected_loss(
    free, pairs, unigram, K)
total = free.exp().sum(dim=1), (free.exp() * K * unigram).sum(dim=1)
assert (total[0] - 1).abs().min() > 0.1  # exp(s) does not sum to 1
torch.testing.assert_close(total[1], torch.ones(V, dtype=f64),
                           atol=1e-3, rtol=0)
assert (free.softmax(dim=1) - P).abs().sum(dim=1).max() > 0.1
claimed = free.sigmoid()  # the classifier's probability: too large, where?
assert torch.equal(claimed > P, P + K * unigram < 1)
assert (claimed > P).any()
uniform = torch.full_like(unigram, 1 / V)
even, _ = minimize(
    lambda S: expected_loss(S, pairs, uniform, K), zeros)
torch.testing.assert_close(even.softmax(dim=1), P, atol=1e-5, rtol=0)

# %% [markdown]
# ## Hierarchical softmax
#
# The other way keeps probabilities that sum to 1, and obtains them from a binary tree whose leaves are the words and whose inner nodes have two children each.
# A word is reached from the root by a sequence of decisions, left or right, and each inner node $n$ decides by logistic regression with a vector $\mathbf{u}_n$ of its own.
# Let $L(w)$ be the number of nodes on the path of the word $w$, leaf included, and $n(w,j)$ the $j$-th of them.
# Then
#
# $$P(w_o\mid w_c) = \prod_{j=1}^{L(w_o)-1}\sigma\Bigl([\![n(w_o,j+1)=\operatorname{leftChild}(n(w_o,j))]\!]\;\mathbf{u}_{n(w_o,j)}^\top\mathbf{v}_c\Bigr), \tag{15.2.8}$$
#
# where $[\![\cdot]\!]$ is $+1$ if the statement is true and $-1$ otherwise, $\mathbf{u}_n,\mathbf{v}_c\in\mathbb{R}^d$, and the product has one factor for each decision.
# A path left, right, left with the scores $a$, $b$, $c$ has the probability $\sigma(a)\,\sigma(-b)\,\sigma(c)$.
#
# At each node the two decisions have the probabilities $\sigma(x)$ and $\sigma(-x)$, which sum to 1, so the mass that arrives at a node is divided among its children, and the leaves together hold all of it, whatever the vectors are.
# There are $|\mathcal V|-1$ inner nodes, so the model has about as many parameters as before, but one word needs only the nodes of its path.
#
# ### The tree
#
# A balanced tree has paths of about $\log_2|\mathcal V|$ decisions.
# Training, though, visits frequent words more often, and these deserve short paths.
# The smallest mean number of decisions belongs to the tree of [Huffman's code](../04-linear-classification/01-softmax-regression.ipynb), which word2vec uses: join the two lightest nodes, again and again.
# In Section 4.1 its word lengths were enough; now we need the nodes.

# %% tags=["export"]
def huffman(counts):
    """The paths of a Huffman tree: for each word [(node, sign), ...].

    `counts` holds V >= 2 nonnegative numbers. Inner nodes are numbered
    0, ..., V - 2, the root is 0, and the sign is +1 for the left child,
    which is the lighter one, -1 for the right. Equal weights merge in
    order of age. Raises a ValueError for fewer than two counts, or one
    that is negative or not finite. Source: Huffman (1952).
    """
    heap = [(float(n), i) for i, n in enumerate(counts)]
    if len(heap) < 2 or not all(0 <= n < math.inf for n, _ in heap):
        raise ValueError("a tree needs two or more counts, each finite and "
                         f"not negative; got {[n for n, _ in heap][:5]}.")
    V, parent = len(heap), {}
    heapq.heapify(heap)
    for new in range(V, 2 * V - 1):  # leaves are 0, ..., V - 1
        light, left = heapq.heappop(heap)
        heavy, right = heapq.heappop(heap)
        heapq.heappush(heap, (light + heavy, new))
        parent[left], parent[right] = (new, 1), (new, -1)
    paths = []
    for at in range(V):
        path = []
        while at in parent:  # up to the root, which was made last
            at, sign = parent[at]
            path.append((2 * V - 2 - at, sign))
        paths.append(path[::-1])
    return paths

# %%
counts = [5, 7, 10, 15, 20, 45]
paths = huffman(counts)
for count, path in zip(counts, paths):
    print(f"{count:2}:", ", ".join(
        f"node {n} {'left' if sign > 0 else 'right'}" for n, sign in path))

# %% tags=["hide-input"]
def tree_places(paths):
    """Where nodes and leaves are drawn: key -> (x, depth)."""
    order = sorted(range(len(paths)),
                   key=lambda w: [-sign for _, sign in paths[w]])
    places = {("leaf", w): (x, len(paths[w])) for x, w in enumerate(order)}
    for node in {n for path in paths for n, _ in path}:
        under = [w for w, path in enumerate(paths)
                 if node in [n for n, _ in path]]
        depth = [n for n, _ in paths[under[0]]].index(node)
        places[node] = (sum(places["leaf", w][0] for w in under)
                        / len(under), depth)
    return places


places = tree_places(paths)
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for w, path in enumerate(paths):
    stops = [n for n, _ in path] + [("leaf", w)]
    for (low, high), (_, sign) in zip(zip(stops, stops[1:]), path):
        (x0, y0), (x1, y1) = places[low], places[high]
        ax.plot([x0, x1], [-y0, -y1], color="0.6", zorder=1)
        ax.text((x0 + x1) / 2, -(y0 + y1) / 2, "+" if sign > 0 else "−",
                ha="center", va="center", fontsize=9,
                bbox={"fc": "white", "ec": "none", "pad": 0.5})
for key, (x0, y0) in places.items():
    leaf = isinstance(key, tuple)
    ax.text(x0, -y0, counts[key[1]] if leaf else f"$\\mathbf{{u}}_{key}$",
            ha="center", va="center", zorder=3, color="black",
            bbox={"boxstyle": "round" if leaf else "circle",
                  "fc": "#BFE3F5" if leaf else "#FBE3B0", "ec": "0.4"})
ax.set(xlim=(-0.6, 5.6), ylim=(-4.4, 0.4))
ax.axis("off")
d2l.describe(ax, """A binary tree with six leaves that carry the counts. The
    leaf 45 hangs directly below the root, the leaves 10, 15 and 20 at depth
    three, the leaves 5 and 7 at depth four. Edges carry plus for left and
    minus for right, inner nodes their vectors u0 to u4.""")

# %% [markdown]
# **Figure 15.2.4.** The Huffman tree of six words with the counts 5, 7, 10, 15, 20, 45: the frequent word is one decision away, the rarest ones four.

# %% [markdown]
# If all words occur, the mean number of decisions of a Huffman tree is at least the entropy $H$ of the words in bits and less than $H+1$ ([Section 4.1](../04-linear-classification/01-softmax-regression.ipynb)).
# And no other tree has a smaller mean, which for six words we can verify by trying all shapes.

# %%
# check 15.2-C4: lengths of the code, its mean, and that none is better
def mean_depth(counts, paths):
    """Mean number of decisions per word of the text."""
    return sum(n * len(path) for n, path in zip(counts, paths)) / sum(counts)


def shapes(leaves):
    """All multisets of leaf depths of binary trees with so many leaves."""
    if leaves == 1:
        return {(0,)}
    return {tuple(sorted(depth + 1 for depth in left + right))
            for k in range(1, leaves) for left in shapes(k)
            for right in shapes(leaves - k)}


def bits(counts):
    """Entropy of the shares of counts, in bits."""
    shares = torch.tensor(counts, dtype=f64) / sum(counts)
    return entropy(shares).item() / math.log(2)


mean = mean_depth(counts, paths)
print(f"mean {mean:.4f} decisions, entropy {bits(counts):.4f} bits")
assert [len(path) for path in paths] == [4, 4, 3, 3, 3, 1]
assert all(path[0][0] == 0 for path in paths)  # from the root
assert abs(mean - 2.2353) < 5e-5 and abs(bits(counts) - 2.1954) < 5e-5
best = min(sum(n * depth for n, depth in zip(counts[::-1], shape))
           for shape in shapes(6)) / sum(counts)  # frequent words short
assert abs(mean - best) < 1e-12
rng = torch.Generator().manual_seed(0)
for _ in range(50):
    size = torch.randint(2, 40, (1,), generator=rng).item()
    some = (torch.randn(size, generator=rng) * 2).exp().tolist()
    depth, H = mean_depth(some, huffman(some)), bits(some)
    assert H - 1e-9 <= depth < H + 1
    assert [len(p) for p in huffman(some)] == huffman_lengths(some)

# %% tags=["hide-input"]
assert huffman([1, 1]) == [[(0, 1)], [(0, -1)]]
assert huffman(torch.tensor([3, 1])) == [[(0, -1)], [(0, 1)]]
assert huffman([0, 1, 0])[1] == [(0, -1)]  # zeros may occur
for wrong in ([], [1], [1, -1], [1, math.inf], [1, math.nan]):
    try:
        huffman(wrong)
        raise AssertionError("impossible counts were accepted")
    except ValueError as error:
        assert "two or more counts" in str(error)

# %% [markdown]
# ### The model
#
# Paths have different lengths, so we store them in a table padded with the sign 0; a padded place contributes the factor 1.

# %% tags=["export"]
class HierarchicalSoftmax(nn.Module):
    """Word probabilities by decisions along the paths of a Huffman tree.

    `counts` (V,) are the counts of the words, `d` the dimension of the
    vectors. `u` holds a vector for each of the V - 1 inner nodes, zero at
    first; with `sparse` its gradient stores only the rows that were used.
    Source: Mikolov et al. (2013b), eq. 3.
    """

    def __init__(self, counts, d, sparse=False):
        super().__init__()
        paths = huffman(counts)
        self.u = nn.Embedding(len(paths) - 1, d, sparse=sparse)
        nn.init.zeros_(self.u.weight)
        longest = max(len(path) for path in paths)
        padded = torch.tensor([path + [(0, 0)] * (longest - len(path))
                               for path in paths])  # (V, longest, 2)
        self.register_buffer("nodes", padded[..., 0])
        self.register_buffer("signs", padded[..., 1])

    def log_prob(self, v, w):
        """log P(w | v) in nats: v (b, d) and words w (b,) give (b,).

        Raises a ValueError for other shapes.
        """
        if v.shape != (*w.shape, self.u.embedding_dim) or w.ndim != 1:
            raise ValueError(
                f"words (b,) need vectors (b, {self.u.embedding_dim}); "
                f"got {tuple(w.shape)} and {tuple(v.shape)}.")
        signs = self.signs[w]  # (b, longest), 0 beyond the path
        u = self.u(self.nodes[w])  # (b, longest, d)
        scores = signs * (u @ v.unsqueeze(2)).squeeze(2)  # (b, longest)
        return (F.logsigmoid(scores) * signs.abs()).sum(dim=1)

# %%
# check 15.2-C5: left, right, left has the probability σ(a) σ(-b) σ(c)
four = [4, 5, 6, 20]
print("path of the first word:", huffman(four)[0])
tree = HierarchicalSoftmax(four, d=3).double()
nn.init.normal_(tree.u.weight, generator=rng)
v = torch.randn(1, 3, generator=rng, dtype=f64)
a, b, c = (tree.u.weight[n] @ v[0] for n, _ in huffman(four)[0])
by_hand = a.sigmoid() * (-b).sigmoid() * c.sigmoid()
torch.testing.assert_close(tree.log_prob(v, torch.tensor([0])).exp(),
                           by_hand.reshape(1))
assert [sign for _, sign in huffman(four)[0]] == [1, -1, 1]

# %%
# check 15.2-C3: the probabilities sum to 1, and without signs they do not
def all_probs(tree, v):
    """P(w | v) for all words w of a tree and one vector v (d,), (V,)."""
    words = torch.arange(len(tree.nodes))
    return tree.log_prob(v.expand(len(words), -1), words).exp()


for seed in range(20):
    rng = torch.Generator().manual_seed(seed)
    some = (torch.randn(50, generator=rng) * 2).exp()  # a random tree
    tree = HierarchicalSoftmax(some, d=6).double()
    nn.init.normal_(tree.u.weight, generator=rng)
    v = torch.randn(6, generator=rng, dtype=f64)
    assert abs(all_probs(tree, v).sum() - 1) < 1e-12
    tree.signs.abs_()  # every decision as if it went left
    assert abs(all_probs(tree, v).sum() - 1) > 0.01

# %% tags=["hide-input"]
fresh = HierarchicalSoftmax(counts, d=2)
assert set(fresh.state_dict()) == {"u.weight", "nodes", "signs"}
some = torch.randn(6, 2)
torch.testing.assert_close(  # with u = 0 every decision is a coin flip
    fresh.log_prob(some, torch.arange(6)),
    -math.log(2) * torch.tensor([4.0, 4, 3, 3, 3, 1]))
for sparse in (False, True):
    layer = HierarchicalSoftmax(counts, d=2, sparse=sparse)
    layer.log_prob(some[:1], torch.tensor([5])).sum().backward()
    assert layer.u.weight.grad.is_sparse == sparse
    grad = layer.u.weight.grad.to_dense()
    assert grad.abs().sum(dim=1).nonzero().flatten().tolist() == [0]
for v, w in ((some[:, :1], torch.arange(6)), (some[:3], torch.arange(6)),
             (some[0], torch.tensor(3))):
    try:
        fresh.log_prob(v, w)
        raise AssertionError("vectors of the wrong shape were accepted")
    except ValueError as error:
        assert str(tuple(v.shape)) in str(error)

# %% [markdown]
# What does it learn?
# The loss is $-\log P(w_o\mid w_c)$ of the model (15.2.8), a true likelihood, so with unconstrained vectors its minimum is the conditional distribution itself.
# For the toy language we compare it, at convergence, with the softmax (15.2.1) and with negative sampling, all with $d=|\mathcal V|$: the *total variation distance* $\frac12\sum_o|P-\hat P|$, averaged over the center words, from $P(w_o\mid w_c)$ to what each model says.

# %%
def tree_signs(tree):
    """The signs of a tree as a matrix (V, V - 1): word, inner node."""
    signs = torch.zeros(len(tree.nodes), len(tree.nodes) - 1, dtype=f64)
    return signs.scatter_add_(1, tree.nodes, tree.signs.double())


def fit_tree(pairs, signs, d, seed=1):
    """Vectors for a tree: log P (V, V) at the optimum, gradient norm."""
    start = 0.3 * torch.randn(2, len(pairs), d, dtype=f64,
                              generator=torch.Generator().manual_seed(seed))

    def log_probs(A, B):  # scores of all inner nodes: (V, 1, V - 1)
        scores = (A @ B.mT).unsqueeze(1) * signs
        return (F.logsigmoid(scores) * signs.abs()).sum(dim=2)

    A, B, norm = minimize(lambda A, B: -(pairs * log_probs(A, B)).sum(),
                          start[0], start[1, 1:])
    return log_probs(A, B), A, B, norm

# %%
tree = HierarchicalSoftmax(unigram, V).double()
by_tree, A, B, norm = fit_tree(pairs, tree_signs(tree), V)
with torch.no_grad():
    tree.u.weight.copy_(B)  # the model of the class says the same
torch.testing.assert_close(all_probs(tree, A[3]).log(), by_tree[3])
start = 0.3 * torch.randn(2, V, V, dtype=f64,
                          generator=torch.Generator().manual_seed(1))
C, D, norm_soft = minimize(
    lambda C, D: -(pairs * (C @ D.mT).log_softmax(dim=1)).sum(), *start)
assert max(norm, norm_soft) < 1e-5

# %%
says = {"full softmax": (C @ D.mT).softmax(dim=1),
        "hierarchical softmax": by_tree.exp(),
        "softmax of negative sampling": free.softmax(dim=1),
        "the same, K P_n put back": K * unigram * free.exp()}
away = {name: ((Q - P).abs().sum(dim=1) / 2).mean().item()
        for name, Q in says.items()}
for name, distance in away.items():
    print(f"{name:29} {distance:.5f}")
assert away.pop("softmax of negative sampling") > 0.05
assert max(away.values()) < 1e-3

# %% [markdown]
# Unconstrained, full and hierarchical softmax agree, and negative sampling holds the same information up to a known factor.
# With few dimensions the tree can matter.
# We keep the shape of the Huffman tree, exchange the words at its leaves at random, and compare how far the loss stays above its smallest possible value, the conditional entropy of the context word (the better of two starts).

# %%
spread = []
for seed in (0, 1, 2):
    pairs_, law = toy_law(seed)
    least = -(pairs_ * (pairs_ / law[:, None]).log()).sum()
    rng = torch.Generator().manual_seed(seed)
    excess = []
    for words in (torch.arange(V), *(torch.randperm(V, generator=rng)
                                     for _ in range(4))):
        signs = tree_signs(HierarchicalSoftmax(law, 1))[words]
        excess.append(min(-(pairs_ * fit_tree(pairs_, signs, 2, start_)[0]
                            ).sum() - least for start_ in (1, 2)).item())
    print(f"language {seed}, d = 2: Huffman {excess[0]:.3f}, words "
          "exchanged", [f"{e:.3f}" for e in excess[1:]])
    spread.append(max(excess) - min(excess))
    assert min(excess) > 0.05
assert spread[0] > 0.03 > 0.01 > spread[2]

# %% [markdown]
# In these draws the excess, in nats, depends on where the words stand, much more in the first toy language than in the third.
# An exchange gives words other depths as well as other neighbors, so this run does not say which of the two matters.
# Huffman's tree groups words by their counts alone, for speed.
# Other trees have been built for meaning: Morin and Bengio (2005) took theirs from WordNet, and lost quality against the full softmax; Mnih and Hinton (2008) made theirs from the data, and report models that can outperform non-hierarchical ones.

# %% [markdown]
# ## Real counts
#
# How short do the paths become for a real vocabulary?
# We count the words of the Brown corpus, about a million words of American English of 1961, in lower case and without numbers and marks, and keep those that occur ten times or more.

# %%
found = d2l.fetch("brown")
tally = Counter(w for sentence in word_sentences(found) for w in sentence)
ranked = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
vocabulary = [n for _, n in ranked if n >= 10]
depths = [len(path) for path in huffman(vocabulary)]
mean = mean_depth(vocabulary, huffman(vocabulary))
print(f"{len(vocabulary)} words, {sum(vocabulary)} occurrences; decisions: "
      f"mean {mean:.2f}, {depths[0]} for {ranked[0][0]!r}, up to "
      f"{max(depths)}")
H, balanced = bits(vocabulary), math.ceil(math.log2(len(vocabulary)))
print(f"entropy {H:.2f} bits, balanced tree up to {balanced} decisions")
assert H <= mean < H + 0.1 and mean < balanced < max(depths)
assert depths == huffman_lengths(vocabulary)
if found.is_real:
    assert (len(vocabulary), sum(vocabulary)) == (8143, 901_384)
    assert ranked[0][0] == "the" and depths[0] == 4
    assert 9 < mean < 10 and max(depths) == 16
even = [len(path) for path in huffman([1] * len(vocabulary))]
assert set(even) <= {balanced - 1, balanced}  # equal counts: balanced
deeper = sum(depth > balanced for depth in depths) / len(depths)
print(f"deeper than the deepest of a balanced tree: {deeper:.0%} of the "
      "words")
assert deeper > 0.5 and depths[-1] > balanced
if found.is_real:
    assert 0.8 < deeper < 0.9

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.6, 3.2))
rank = torch.arange(1, len(vocabulary) + 1)
shares = torch.tensor(vocabulary, dtype=f64) / sum(vocabulary)
ax.step(rank, depths, where="mid", color="C0", label="Huffman tree")
ax.plot(rank, -shares.log2(), color="0.3", lw=1, ls="--",
        label="$-\\log_2$ of the share")
ax.axhline(balanced, color="C1", label="deepest of a balanced tree")
ax.set(xscale="log", xlabel="rank of the word", ylabel="decisions",
       ylim=(0, None))
ax.legend()
d2l.describe(ax, """Number of decisions over the rank of the word. For the
    Huffman tree it rises in steps from about four to sixteen, along
    the dashed curve of minus the binary logarithm of the share, and crosses
    the level line of a balanced tree's depth, thirteen.""")

# %% [markdown]
# **Figure 15.2.5.** Decisions for each word of the Brown corpus: the frequent words need fewer than in a balanced tree, most words need more.

# %% [markdown]
# The mean number of decisions exceeds the entropy by less than a tenth, and stays below that of a balanced tree, although more than four fifths of the words, the rare ones, lie deeper than any word of a balanced tree.
#
# ## What it costs
#
# For one pair, the table counts the inner products that each method needs, with word counts that follow Zipf's law, $n_i\propto1/i$ for rank $i$ ([Section 9.2](../09-recurrent-neural-networks/02-text-to-sequences.ipynb)).

# %%
def cost_table(V, K):
    """Inner products for one pair, by method, for V words of Zipf's law."""
    zipf = [1 / rank for rank in range(1, V + 1)]
    return {"full softmax": V, "negative sampling": K + 1,
            "balanced tree": math.ceil(math.log2(V)),
            "Huffman tree": mean_depth(zipf, huffman(zipf))}


for size in (256, 4096, 2**largest):
    costs = cost_table(size, 5).items()
    print(f"{size:6} words:", ", ".join(
        f"{name} {round(cost, 2):g}" for name, cost in costs))

# %%
b, K, d = 3, 5, 10
costs = cost_table(256, K)
U, v, w = torch.randn(256, d), torch.randn(b, d), torch.arange(b)
balanced = HierarchicalSoftmax([1] * 256, d)  # equal counts
zipf = HierarchicalSoftmax([1 / rank for rank in range(1, 257)], d)
measured = {}
for name, compute in (
        ("full softmax", lambda: F.cross_entropy(v @ U.mT, w)),
        ("negative sampling", lambda: neg_sampling_loss(
            v, U[w], U[:b * K].reshape(b, K, d))),
        ("balanced tree", lambda: balanced.log_prob(v, w)),
        ("Huffman tree, padded", lambda: zipf.log_prob(v, w))):
    with FlopCounterMode(display=False) as counter:
        compute()
    measured[name] = counter.get_total_flops() / (2 * b * d)
print(measured)
assert measured["full softmax"] == costs["full softmax"]
assert measured["balanced tree"] == costs["balanced tree"] == 8
assert measured["negative sampling"] == costs["negative sampling"] - 1
assert cost_table(1000, K)["balanced tree"] == 10
assert costs["Huffman tree"] < 8 < measured["Huffman tree, padded"]
assert measured["Huffman tree, padded"] == zipf.signs.shape[1]

# %% [markdown]
# The counter of PyTorch sees products of matrices, so it misses the one product of the observed word, which our function takes element by element; the full softmax and the balanced tree agree with the table.
# A padded Huffman tree costs the longest path of the vocabulary for each pair, not the mean; word2vec's C program, which walks each path, pays the mean.
#
# Counting products is not all.
# `autograd` by default stores the gradient of the whole table of context vectors, zeros included.
# An `nn.Embedding` with `sparse=True` stores only the rows that were used; `SGD`, `Adagrad` and `SparseAdam` accept such gradients, `Adam` and `AdamW` do not.
# So for few pairs, expect the time of the full softmax to grow about in proportion to $|\mathcal V|$, that of the dense gradient to grow once writing the zeros outweighs the rest, and that of the sparse ones hardly to depend on $|\mathcal V|$.

# %%
stored = {}
for sparse in (False, True):
    table = nn.Embedding(10_000, d, sparse=sparse)
    neg_sampling_loss(v, table(w), table(
        100 + torch.arange(b * K).reshape(b, K))).mean().backward()
    grad = table.weight.grad
    stored[sparse] = (grad.coalesce().values() if sparse else grad).numel()
print(f"numbers in the gradient: dense {stored[False]}, "
      f"sparse {stored[True]}")
assert stored == {False: 10_000 * d, True: b * (K + 1) * d}

# %% tags=["timing"]
def seconds(loss, parameters, repeats=7):
    """Shortest of several times for loss and gradient."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        torch.autograd.grad(loss(), parameters)
        times.append(time.perf_counter() - begin)
    return min(times)


b, K, d = 64, 5, 64
v = torch.randn(b, d, requires_grad=True)
sizes = [2**n for n in range(8, largest + 1)]
times = {}
for size in sizes:
    zipf = 1 / torch.arange(1.0, size + 1)
    w, h = torch.multinomial(zipf, b * (K + 1), replacement=True).split(
        (b, b * K))
    for sparse in (False, True):
        table = nn.Embedding(size, d, sparse=sparse)
        times[f"negative sampling, {'sparse' if sparse else 'dense'}", size
              ] = seconds(lambda: neg_sampling_loss(
                  v, table(w), table(h.reshape(b, K))).mean(),
                  (v, table.weight))
    tree = HierarchicalSoftmax(zipf.tolist(), d, sparse=True)
    times["hierarchical softmax, sparse", size] = seconds(
        lambda: -tree.log_prob(v, w).mean(), (v, tree.u.weight))
    times["full softmax", size] = seconds(
        lambda: F.cross_entropy(v @ table.weight.mT, w), (v, table.weight))

# %% tags=["timing", "hide-input"]
fig, ax = plt.subplots(figsize=(5.8, 3.3))
for name, style in (("full softmax", "s-"),
                    ("negative sampling, dense", "v--"),
                    ("hierarchical softmax, sparse", "^-"),
                    ("negative sampling, sparse", "o-")):
    ax.plot(sizes, [1000 * times[name, size] for size in sizes], style,
            ms=4, label=name)
ax.set(yscale="log", xlabel="size of the vocabulary",
       ylabel="milliseconds")
ax.set_xscale("log", base=2)
ax.legend(fontsize=8)
d2l.describe(ax, """Milliseconds for loss and gradient of 64 pairs over the
    size of the vocabulary, both axes logarithmic, for full softmax, negative
    sampling with dense and with sparse gradient, and hierarchical softmax
    with sparse gradient.""")

# %% [markdown]
# **Figure 15.2.6.** Time for loss and gradient of 64 pairs with $d=64$ over the size of the vocabulary, measured where this page was made; both axes are logarithmic.

# %% [markdown]
# ### Where this stands today
#
# Language models went back to the full softmax.
# Their vocabularies of subwords are bounded, and all tokens of a batch share one large product of matrices, which suits a GPU; where memory is short, the loss is computed without storing the scores (Wijmans et al., 2024).
# Sampling lives on where the "vocabulary" is a catalogue of millions of items, as in recommendation and retrieval.
# There its properties matter again.
# Trained with negatives, recommenders tend to overstate the probabilities of observed pairs, as computed above (Petrov and Macdonald, 2023).
# And where a softmax over sampled items should stand for the full one, the scores need a correction for how often an item is drawn, the counterpart of $\log P_n$ in (15.2.6); Khrylchenko et al. (2025) mend the usual one.

# %% [markdown]
# ## Summary
#
# - Negative sampling trains a classifier of observed against random pairs; one pair gives a gradient to $K+1$ context vectors at most. Positives alone have no minimum: the vectors keep growing.
# - With unconstrained vectors and negatives that do not depend on the context, its scores are $\log\frac{P(w_o\mid w_c)}{P_n(w_o)}-\log K$; few dimensions, or negatives rejected by the window, lead elsewhere.
# - These scores are no log-probabilities, and their softmax is the conditional distribution only for uniform noise. NCE corrects them by $\log(K\,P_n)$; InfoNCE, with unigram negatives and unconstrained vectors, learns PMI up to a constant for each query.
# - Hierarchical softmax is a normalized model for any vectors and any binary tree, because the two decisions of a node have probabilities that sum to 1.
# - A Huffman tree has the smallest mean path, within one decision of the entropy, and can put rare words deeper than a balanced tree, as it does for the Brown corpus.
# - With a gradient that is stored densely, every step still writes all $|\mathcal V|$ rows; a sparse one holds the rows that were used.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.2-1
#
# Prove by induction over the number of words that the probabilities (15.2.8) sum to 1 for every binary tree whose inner nodes have two children.
# Confirm it for random trees that are no Huffman trees.

# %% [markdown]
# #### Solution 15.2-1

# %% [markdown]
# A tree with one word has no decision, and its only word has probability 1, the empty product.
# A larger tree has a root with two subtrees, each with fewer words.
# The probability of a word in the left subtree is $\sigma(x)$ times its probability within that subtree, where $x$ is the score of the root.
# By the hypothesis, the probabilities within the left subtree sum to 1, so its words have $\sigma(x)$ together, and those of the right subtree have $\sigma(-x)$.
# The sum is $\sigma(x)+\sigma(-x)=1$.

# %%
def random_paths(words, rng):
    """Paths of a random tree over `words`, as signs and inner nodes."""
    if len(words) == 1:
        return {words[0]: []}
    k = torch.randint(1, len(words), (1,), generator=rng).item()
    node = words[0], words[-1]  # names the inner node: its range of words
    return {w: [(node, sign), *path]
            for part, sign in ((words[:k], 1), (words[k:], -1))
            for w, path in random_paths(part, rng).items()}


deepest = set()
for seed in range(20):
    rng = torch.Generator().manual_seed(seed)
    random_tree = random_paths(list(range(30)), rng)
    score = {node: torch.randn((), generator=rng, dtype=f64)
             for path in random_tree.values() for node, _ in path}
    probs = [math.prod(torch.sigmoid(sign * score[n]) for n, sign in path)
             for path in random_tree.values()]
    deepest.add(max(len(path) for path in random_tree.values()))
    assert len(score) == 29 and abs(sum(probs) - 1) < 1e-12
print("longest paths of the 20 trees:", sorted(deepest))

# %% [markdown]
# ### Exercise 15.2-2
#
# What does $K$ do to the learned scores?
# Train the toy language with unconstrained vectors for $K=1$, 5 and 20 and compare the scores.
# Does the order of the context words of a center word depend on $K$? And their distribution, if you take the softmax of the scores?

# %% [markdown]
# #### Solution 15.2-2

# %% [markdown]
# By (15.2.6), all scores shift by $-\log K$, and their differences stay, so neither the order nor the softmax changes.
# This says nothing about the vectors themselves: one matrix of scores has many factorizations, and with few dimensions (15.2.6) does not hold.

# %%
by_K = {}
for K_ in (1, 5, 20):
    A, B, norm = minimize(
        lambda A, B: expected_loss(A @ B.mT, pairs, unigram, K_), *start)
    by_K[K_] = A @ B.mT
    print(f"K = {K_:2}: mean score {by_K[K_].mean():+.3f}")
    assert norm < 1e-5
for K_, S in by_K.items():
    assert (S - by_K[1] + math.log(K_)).abs().max() < 1e-3
    assert torch.equal(S.argsort(dim=1), by_K[1].argsort(dim=1))
    torch.testing.assert_close(S.softmax(dim=1), by_K[1].softmax(dim=1),
                               atol=1e-4, rtol=0)

# %% [markdown]
# ### Exercise 15.2-3
#
# Write CBOW with negative sampling: the center word is the word to recognize, and the mean of its $2m$ context vectors takes the place of $\mathbf{v}_c$.
# Derive the gradient with respect to one context word's vector and compare it with `autograd`, also when a word occurs twice in the window.

# %% [markdown]
# #### Solution 15.2-3

# %% [markdown]
# In CBOW ([Section 15.1](01-word2vec.ipynb)), words of the context have the vectors $\mathbf{v}_i$, and the word to predict has $\mathbf{u}_c$.
# With $\bar{\mathbf{v}}=\frac1{2m}\sum_{i=1}^{2m}\mathbf{v}_{o_i}$, the loss is (15.2.3) with $\bar{\mathbf{v}}$ for $\mathbf{v}_c$.
# The gradient with respect to $\bar{\mathbf{v}}$ is $-\sigma(-\mathbf{u}_c^\top\bar{\mathbf{v}})\,\mathbf{u}_c+\sum_k\sigma(\mathbf{u}_{h_k}^\top\bar{\mathbf{v}})\,\mathbf{u}_{h_k}$.
# Each place in the window gets the $2m$-th part of it, and a word that fills two places gets two parts.

# %%
def cbow_loss(Vc, Uc, context, center, negatives):
    """Loss (b,) for windows (b, 2m), centers (b,) and negatives (b, K)."""
    return neg_sampling_loss(Vc[context].mean(dim=1), Uc[center],
                             Uc[negatives])


rng = torch.Generator().manual_seed(3)
Vc, Uc = torch.randn(2, 12, 6, generator=rng, dtype=f64)
Vc.requires_grad_()
window = torch.tensor([[4, 9, 4, 2]])  # word 4 fills two places
center, negatives = torch.tensor([1]), torch.tensor([[0, 7, 8]])
cbow_loss(Vc, Uc, window, center, negatives).sum().backward()
bar = Vc[window[0]].mean(dim=0).detach()
part = (-torch.sigmoid(-Uc[1] @ bar) * Uc[1]
        + torch.sigmoid(Uc[[0, 7, 8]] @ bar) @ Uc[[0, 7, 8]]) / 4
by_hand = torch.zeros(12, 6, dtype=f64)
by_hand[[9, 2]], by_hand[4] = part, 2 * part
torch.testing.assert_close(Vc.grad, by_hand)

# %% [markdown]
# ### Exercise 15.2-4
#
# word2vec draws negatives from $P_n(w)\propto f(w)^{0.75}$, with $f$ the unigram distribution.
# Predict the scores at the fixed point, and how they differ from those of unigram negatives.
# Confirm the prediction on the toy language.

# %% [markdown]
# #### Solution 15.2-4

# %% [markdown]
# With $P_n(w)=f(w)^{0.75}/Z$ and $Z=\sum_wf(w)^{0.75}$, (15.2.6) gives
#
# $$s^* = \log\frac{P(w_o\mid w_c)}{f(w_o)}+0.25\log f(w_o)+\log Z-\log K.$$
#
# The score is no longer symmetric in the two words: a frequent context word keeps a quarter of its log-frequency.

# %%
flat = unigram**0.75 / (unigram**0.75).sum()
A, B, norm = minimize(
    lambda A, B: expected_loss(A @ B.mT, pairs, flat, K), *start)
predicted = (pmi + 0.25 * unigram.log() + (unigram**0.75).sum().log()
             - math.log(K))
print(f"largest deviation {(A @ B.mT - predicted).abs().max():.3f}")
assert norm < 1e-5 and (A @ B.mT - predicted).abs().max() < 1e-3
assert (A @ B.mT - B @ A.mT).abs().max() > 0.1  # pmi is symmetric
assert (A @ B.mT - pmi + math.log(K)).abs().max() > 0.1  # not (15.2.6)

# %% [markdown]
# ### Exercise 15.2-5
#
# *In-batch negatives*: for $b$ pairs, the negatives of each pair are the context words of the other $b-1$ pairs.
# Write InfoNCE for them and show that it is a softmax cross-entropy over the batch.
# Which noise distribution is this, and when does it go wrong?

# %% [markdown]
# #### Solution 15.2-5

# %% [markdown]
# Let $\mathbf{S}=\mathbf{V}\mathbf{U}^\top$ with the center vectors of the batch in the rows of $\mathbf{V}$ and their context vectors in those of $\mathbf{U}$.
# Row $i$ holds the scores of center word $i$ with all context words of the batch, and the right one is on the diagonal.
# So (15.2.7) is the cross-entropy of row $i$ with the label $i$; one product of matrices serves all pairs.
#
# If the pairs of the batch are drawn independently, the negatives come from the law of the context words, the unigram distribution.
# Two pairs may then share a context word, which is the answer and a negative at once; if all context words of the batch are the same, the loss is $\log b$ and nothing can reduce it.
# Such draws cost something, but do not move the optimum: the expected losses above include them, and led to the PMI.
# It goes wrong when the pairs depend on each other: if all pairs of a batch have the same center word, as the pairs of one window do, the negatives come from $P(\cdot\mid w_c)$ too, and by Bayes' rule the best scores of this word are all equal.

# %%
def in_batch(V_, U_):
    """InfoNCE (b,) with the other pairs' context words as negatives."""
    return F.cross_entropy(V_ @ U_.mT, torch.arange(len(V_)),
                           reduction="none")


rng = torch.Generator().manual_seed(5)
V_, U_ = torch.randn(2, 7, 4, generator=rng, dtype=f64)
for i, loss in enumerate(in_batch(V_, U_)):
    s_o = U_[i] @ V_[i]
    others = torch.cat((U_[:i], U_[i + 1:])) @ V_[i]  # b - 1 negatives
    by_hand = -torch.log(s_o.exp() / (s_o.exp() + others.exp().sum()))
    torch.testing.assert_close(loss, by_hand)
same = in_batch(V_, U_[:1].expand(7, -1))
torch.testing.assert_close(same, torch.full_like(same, math.log(7)))

# %% [markdown]
# ## Sources
#
# - T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean (2013b). Distributed representations of words and phrases and their compositionality. [arXiv:1310.4546](https://arxiv.org/abs/1310.4546): negative sampling, and hierarchical softmax with a Huffman tree.
# - O. Levy, Y. Goldberg (2014). Neural word embedding as implicit matrix factorization. [NeurIPS](https://papers.nips.cc/paper/5477-neural-word-embedding-as-implicit-matrix-factorization): the fixed point.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the rule that rejects window words.
# - J. Goodman (2001). Classes for fast maximum entropy training. ICASSP. [arXiv:cs/0108006](https://arxiv.org/abs/cs/0108006): first the class, then the word.
# - F. Morin, Y. Bengio (2005). Hierarchical probabilistic neural network language model. AISTATS. [PMLR R5](https://proceedings.mlr.press/r5/morin05a.html): a binary tree from WordNet.
# - A. Mnih, G. Hinton (2008). A scalable hierarchical distributed language model. [NeurIPS](https://papers.nips.cc/paper/3583-a-scalable-hierarchical-distributed-language-model): trees learned from the data.
# - D. A. Huffman (1952). A method for the construction of minimum-redundancy codes. [doi:10.1109/JRPROC.1952.273898](https://doi.org/10.1109/JRPROC.1952.273898).
# - M. Gutmann, A. Hyvärinen (2010). Noise-contrastive estimation: a new estimation principle for unnormalized statistical models. AISTATS. [PMLR 9](https://proceedings.mlr.press/v9/gutmann10a.html).
# - A. Mnih, Y. W. Teh (2012). A fast and simple algorithm for training neural probabilistic language models. [arXiv:1206.6426](https://arxiv.org/abs/1206.6426).
# - A. van den Oord, Y. Li, O. Vinyals (2018). Representation learning with contrastive predictive coding. [arXiv:1807.03748](https://arxiv.org/abs/1807.03748): InfoNCE, and its optimum as a ratio of densities.
# - Z. Ma, M. Collins (2018). Noise contrastive estimation and negative sampling for conditional models: consistency and statistical efficiency. [arXiv:1809.01812](https://arxiv.org/abs/1809.01812): classification against ranking among the negatives.
# - A. Radford et al. (2021). Learning transferable visual models from natural language supervision. [arXiv:2103.00020](https://arxiv.org/abs/2103.00020): CLIP.
# - E. Wijmans, B. Huval, A. Hertzberg, V. Koltun, P. Krähenbühl (2024). Cut your losses in large-vocabulary language models. [arXiv:2411.09009](https://arxiv.org/abs/2411.09009).
# - A. Petrov, C. Macdonald (2023). gSASRec: reducing overconfidence in sequential recommendation trained with negative sampling. [arXiv:2308.07192](https://arxiv.org/abs/2308.07192).
# - K. Khrylchenko et al. (2025). Correcting the logQ correction: revisiting sampled softmax for large-scale retrieval. [arXiv:2507.09331](https://arxiv.org/abs/2507.09331).
