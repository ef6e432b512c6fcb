# ---
# jupyter:
#   d2l:
#     profiles:
#       gpu:
#         bench_steps: 1024
#         num_gpus: 1
#       smoke:
#         bench_steps: 32
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
# # 11.3 Attention scoring functions
#
# Attention needs one number for each pair of a query and a key: the *score*, which softmax turns into weights.
# [Section 11.2](02-attention-pooling.ipynb) took it from a distance.
# Which scores are cheap, can be learned and still give useful gradients in a thousand dimensions, and what happens in a batch whose sentences have different lengths?
#
# **You will**
#
# - derive the scaled dot product from the distance, and measure what the scale does to weights and gradients;
# - mask padded keys correctly, also where nothing is left, and see how a large negative number fails;
# - implement scaled dot-product and additive attention and check them against PyTorch's fused operator and an MLP;
# - compute exact attention block by block, without ever holding all weights.
#
# **Cost**: about ten seconds on a CPU; nothing is trained or downloaded.

# %%
import math
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    nadaraya_watson, show_heatmaps)
from d2l_helpers.chapters.builders_guide import count_params

d2l.use_style()

# %% tags=["parameters"]
bench_steps = 256  # queries and keys, in Exercise 11.3-4
num_gpus = 0  # 1: time it on an accelerator, if there is one

# %% [markdown]
# ## From distance to dot product
#
# ![Queries and keys enter a box that computes scores. Scores pass through mask, softmax and dropout, and the weights average the values to the output. Valid lengths enter the mask.](img/score-pipeline.svg)
#
# **Figure 11.3.1.** Attention for a batch of $n$ examples.
# This section varies the orange box, the score, and builds the others once.
#
# The Gaussian kernel of Section 11.2 has the score
#
# $$a(\mathbf{q},\mathbf{k}_i)=-\tfrac12\|\mathbf{q}-\mathbf{k}_i\|^2=\mathbf{q}^\top\mathbf{k}_i-\tfrac12\|\mathbf{k}_i\|^2-\tfrac12\|\mathbf{q}\|^2, \tag{11.3.1}$$
#
# with a query $\mathbf{q}\in\mathbb{R}^d$ and the keys $\mathbf{k}_1,\dots,\mathbf{k}_m\in\mathbb{R}^d$.
# For $\mathbf{q}=(1,2)$ and $\mathbf{k}=(3,1)$ it is $5-5-2.5=-2.5$.
#
# The last term is the same for all keys.
# In the softmax it becomes a common factor of numerator and denominator, so it cancels, as anything does that depends on the query alone.
# The middle term does not depend on the query.
# If all keys have the same length, it cancels too.
# What remains is the dot product $\mathbf{q}^\top\mathbf{k}_i$: one matrix product for all pairs.

# %%
# check 11.3-C5: the expansion, and what cancels in the softmax
generator = torch.Generator().manual_seed(113)
q = torch.randn(4, generator=generator)
K = torch.randn(6, 4, generator=generator)
gauss = -(q - K).square().sum(dim=1) / 2  # (6,)
k_term, q_term = K.square().sum(dim=1) / 2, q.square().sum() / 2
torch.testing.assert_close(gauss, K @ q - k_term - q_term)
weights = torch.softmax(gauss, dim=0)
torch.testing.assert_close(torch.softmax(K @ q - k_term, dim=0), weights)
for shift in (-7.0, q.norm(), torch.sin(100 * q[0])):  # functions of q
    torch.testing.assert_close(torch.softmax(gauss + shift, dim=0), weights)
assert (torch.softmax(K @ q, dim=0) - weights).abs().max() > 0.05
unit = F.normalize(K)  # equal lengths: the key term may go as well
torch.testing.assert_close(
    torch.softmax(unit @ q, dim=0),
    torch.softmax(-(q - unit).square().sum(dim=1) / 2, dim=0))

# %% [markdown]
# With keys of different lengths the dot product is a different score: compared with the distance, it gives each key half its squared length more (Exercise 11.3-1).
# It is often said that layer normalization makes the lengths equal.
# Its output does have length $\sqrt d$, before the learned gain and bias.
# But keys are usually a learned linear map of that output, and behind a map, here a random one, the lengths differ again:

# %%
torch.manual_seed(0)
X = F.layer_norm(torch.randn(1000, 64), (64,))
lengths = {"normalized": X.norm(dim=1),
           "after a linear map": nn.Linear(64, 64)(X).detach().norm(dim=1)}
spread = {name: (x.std() / x.mean()).item() for name, x in lengths.items()}
print({name: f"lengths vary by {x:.1%}" for name, x in spread.items()})
assert (lengths["normalized"] - 8).abs().max() < 1e-3
assert spread["normalized"] < 1e-4 and spread["after a linear map"] > 0.05

# %% [markdown]
# ## Why divide by $\sqrt d$
#
# Suppose the entries of $\mathbf{q}$ and $\mathbf{k}$ are independent, with mean 0 and variance 1.
# Each product $q_jk_j$ then has mean 0 and variance 1, and the sum of $d$ of them has variance $d$.
# At $d=1024$ the scores have a standard deviation of 32.
# Two scores that differ by 32 have weights that differ by a factor of $e^{32}\approx8\cdot10^{13}$: softmax has nearly become a maximum.
# Dividing by the standard deviation keeps the scores at variance 1 for every $d$; this is the *scaled dot product* of Vaswani and others (2017),
#
# $$a(\mathbf{q},\mathbf{k}_i)=\frac{\mathbf{q}^\top\mathbf{k}_i}{\sqrt d},\qquad \alpha(\mathbf{q},\mathbf{k}_i)=\frac{\exp(\mathbf{q}^\top\mathbf{k}_i/\sqrt d)}{\sum_{j=1}^m\exp(\mathbf{q}^\top\mathbf{k}_j/\sqrt d)}, \tag{11.3.2}$$
#
# where $\alpha(\mathbf{q},\mathbf{k}_i)$ is the weight of key $i$, a number between 0 and 1.
# The paper suspects that softmax has extremely small gradients otherwise.
# Let us measure them.
# With $s_j=c\,\mathbf{q}^\top\mathbf{k}_j$ for the score, $c$ for its scale, 1 or $1/\sqrt d$, and $\alpha_i$ for the weight, the derivatives are
#
# $$\frac{\partial\alpha_i}{\partial s_j}=\alpha_i(\mathbf{1}[i=j]-\alpha_j),\qquad \frac{\partial\alpha_i}{\partial\mathbf{q}}=c\sum_{j=1}^m\frac{\partial\alpha_i}{\partial s_j}\mathbf{k}_j, \tag{11.3.3}$$
#
# numbers for the scores, and a vector in $\mathbb{R}^d$ for each key.
# The first belongs to softmax alone; the second is what reaches the query.
# The *gradient norm* is the root of the sum of all squares, $m^2$ or $md$ of them.

# %%
def softmax_statistics(d, scaled, num_queries=4000, seed=0):
    """Random attention: each query in R^d meets ten keys of its own.

    Returns the variance of q^T k, and for each query the largest weight,
    the entropy and the gradient norms of the weights with respect to
    scores and query, (4, num_queries); `num_queries` is a multiple of 500.
    Entries are standard normal, the same for both values of `scaled`.
    """
    generator = torch.Generator().manual_seed(seed)
    c, dots, rows = d**-0.5 if scaled else 1.0, [], []
    for _ in range(num_queries // 500):  # 500 at a time, to save memory
        q = torch.randn(500, 1, d, generator=generator)
        k = torch.randn(500, 10, d, generator=generator)
        dots.append(q @ k.mT)  # (500, 1, 10)
        alpha = torch.softmax(c * dots[-1], dim=-1)
        entropy = -torch.special.xlogy(alpha, alpha).sum(dim=-1)
        to_scores = torch.diag_embed(alpha[:, 0]) - alpha.mT * alpha
        to_query = c * to_scores @ k  # (500, 10, d)
        rows.append(torch.stack((alpha.amax(dim=(1, 2)), entropy[:, 0],
                                 to_scores.norm(dim=(1, 2)),
                                 to_query.norm(dim=(1, 2)))))
    return torch.cat(dots).var().item(), torch.cat(rows, dim=1)

# %% tags=["rtol=0.1"]
dims = [4, 16, 64, 256, 1024]
variance, found = {}, {}
print("raw | scaled, means: largest weight, gradient to scores, to query")
for d in dims:
    for scaled in (False, True):
        variance[d], found[d, scaled] = softmax_statistics(d, scaled)
    raw, scaled = (found[d, s].mean(dim=1).tolist() for s in (False, True))
    means = [f"{raw[row]:.2f} | {scaled[row]:.2f}" for row in (0, 2, 3)]
    print(f"d = {d:4}, variance {variance[d]:6.1f}: ", ",   ".join(means))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), layout="constrained")
d2l.plot(dims, [[found[d, s][1].mean().item() for d in dims]
                for s in (False, True)], ["raw", "scaled"],
         xlabel="dimension d", ylabel="mean entropy (nats)", xscale="log",
         ax=axes[0])
axes[0].axhline(math.log(10), color="0.5", lw=1, ls=":")
axes[0].text(dims[0], math.log(10) - 0.15, "uniform", fontsize=8,
             color="0.4")
for ax, row, to in ((axes[1], 2, "scores"), (axes[2], 3, "query")):
    d2l.plot(dims, [[f(found[d, s][row]).item() for d in dims]
                    for f, s in ((torch.mean, False), (torch.mean, True),
                                 (torch.median, False))],
             ["raw, mean", "scaled, mean", "raw, median"]
             if row == 2 else None, xlabel="dimension d",
             ylabel=f"gradient norm, {to}", xscale="log", yscale="log",
             ax=ax)
    ax.set_ylim(1e-6, 4)
d2l.describe(fig, """Left: the entropy of raw weights falls from 1.4 to below
    0.1 nats as the dimension grows from 4 to 1024; scaled it stays at 1.9.
    Middle: with respect to the scores, raw gradients fall, the mean to below
    a fifth of the scaled one, the median by five orders of magnitude. Right:
    with respect to the query, the raw median falls by more than three orders
    of magnitude, the raw mean rises. The scaled curves are flat.""")

# %% [markdown]
# **Figure 11.3.2.** Weights over ten random keys.
# Left, without the scale nearly all weight goes to one key.
# Middle, the gradient of softmax itself shrinks.
# Right, beyond $d=16$ so does the typical gradient with respect to a query, but the mean does not.

# %%
def carriers(norms):
    """Smallest share of queries whose norms make 90 % of the total."""
    sums = norms.sort(descending=True).values.cumsum(0)
    return ((sums < 0.9 * sums[-1]).sum().item() + 1) / len(norms)


shares = [carriers(found[1024, scaled][3]) for scaled in (False, True)]
print(f"d = 1024: 90 % of the gradient lies with {shares[0]:.0%} of the "
      f"queries raw, with {shares[1]:.0%} scaled")
assert carriers(torch.tensor([1.0, 0, 89, 10])) == 0.5
assert carriers(torch.tensor([0.0, 10, 0, 90])) == 0.25
assert shares[0] < 1 / 6 and 0.85 < shares[1] < 0.9

# %%
# check 11.3-C6: variance d; largest weight; typical and mean gradients
expected = {4: 0.49, 64: 0.866, 1024: 0.966}
for d in dims:
    raw, scaled = found[d, False], found[d, True]
    assert abs(variance[d] / d - 1) < 0.05
    if d in expected:
        assert abs(raw[0].mean() - expected[d]) < 0.02
    assert abs(scaled[0].mean() - 0.31) < 0.02
    assert abs(scaled[1].mean() - 1.935) < 0.03
    assert abs(scaled[2].mean() - 0.344) < 0.01
    assert abs(scaled[3].mean() - 0.338) < 0.02
    assert (scaled.median(dim=1).values / scaled.mean(dim=1)
            - 1)[2:].abs().max() < 0.05
    assert raw[3].mean() > 1.7 * scaled[3].mean()
typical = [found[d, False][3].median() for d in dims]
assert typical[1] > typical[2] > 5 * typical[3] > 500 * typical[4]
assert scaled[3].median() > 1000 * typical[4]  # d = 1024
assert scaled[2].mean() > 5 * raw[2].mean()
assert scaled[2].median() > 10_000 * raw[2].median()
assert raw[1].mean() < 0.1

# %% tags=["hide-input"]
# (11.3.3) against automatic differentiation; same draws for both scales
g = torch.Generator().manual_seed(0)
draws = [torch.randn(500, n, 4, generator=g) for n in (1, 10)]
jacobian = torch.autograd.functional.jacobian
for scaled, c in ((False, 1.0), (True, 0.5)):
    _, rows = softmax_statistics(4, scaled, num_queries=500)
    assert rows.shape == (4, 500)
    for i in (0, 499):
        q, K = draws[0][i, 0], draws[1][i]
        to_query = jacobian(lambda q: torch.softmax(c * K @ q, dim=0), q)
        to_scores = jacobian(lambda s: torch.softmax(s, dim=0), c * K @ q)
        alpha = torch.softmax(c * K @ q, dim=0)
        torch.testing.assert_close(rows[:, i], torch.stack((
            alpha.max(), torch.distributions.Categorical(alpha).entropy(),
            to_scores.norm(), to_query.norm())))
assert softmax_statistics(4, True, 1000)[1].shape == (4, 1000)
other = softmax_statistics(4, True, 500, seed=1)[1]
assert (rows[0] != other[0]).all()

# %% [markdown]
# With the scale, all of this is nearly independent of $d$.
# Without it, the gradient of softmax is indeed small: at $d=1024$ the mean norm is less than a fifth of the scaled one, the median less than a ten-thousandth.
# What reaches the query is another matter, since $c$ is $\sqrt d=32$ times larger without the scale.
# The median norm is still over a thousand times smaller.
# But the *mean* norm is larger than with the scale, and fewer than a sixth of the queries carry nine tenths of the total.
# Seen from the query, the raw dot product makes gradients rare rather than small: most queries receive nearly none, a few a large one.
# All of this is for ten keys with independent standard normal entries, which trained queries and keys need not have.

# %% [markdown]
# ## Softmax with a mask
#
# Sentences in a batch are padded to one length $m$, and padding must get no weight.
# If the example has $l$ valid keys, the sum in (11.3.2) should run over $i\le l$ only:
#
# $$\alpha_i=\frac{\mathbf{1}[i\le l]\exp(a_i)}{\sum_{j=1}^{l}\exp(a_j)},\qquad i=1,\dots,m, \tag{11.3.4}$$
#
# with the scores $a_i\in\mathbb{R}$.
# For scores $(0,\log3,5)$ and $l=2$ the weights are $(\frac14,\frac34,0)$.
# Rather than treat each length by itself, we overwrite the scores of masked keys by something whose exponential is 0, and one softmax serves the whole batch.
#
# Which number should that be?
# A common choice is $-10^6$.
# It works until a row has no valid key (an empty sentence, say).
# In float16 no such number exists: `masked_fill` refuses it, while an assignment stores $-\infty$ without a word.

# %%
# check 11.3-C8: what -1e6 and -inf do to a row without a valid key
scores = torch.tensor([[0.5, -1.0, 2.0]])
nothing = torch.ones_like(scores, dtype=torch.bool)  # all are masked
filled = {fill: torch.softmax(scores.masked_fill(nothing, fill), dim=-1)
          for fill in (-1e6, -math.inf)}
half = scores.half()
half[nothing] = -1e6
print(filled, half)
assert torch.equal(filled[-1e6], torch.full((1, 3), 1 / 3))  # on padding!
assert filled[-math.inf].isnan().all()
assert (half == -math.inf).all() and torch.tensor(-1e6).half() == half[0, 0]

# %% [markdown]
# The large number spreads the weight evenly over padding, without any sign of an error.
# Minus infinity is harmless while a key is left, but in an empty row it gives $0/0$, which spreads through the network.
# Our function fills with the least finite number of the type, so no step gives NaN, and then sets masked weights to 0.
# The second step changes only empty rows: their weights are all 0, and so is their output.
# PyTorch's fused attention, in the version used here and on a CPU, returns zeros there, too; until a change in 2024 it returned NaN.
#
# `valid_lens` is either one length for each example, or one for each query.

# %% tags=["export"]
def masked_softmax(scores, valid_lens=None):
    """Softmax over the keys, with weight 0 beyond the valid lengths.

    `scores` is (n, queries, keys), `valid_lens` (n,), one for each example,
    or (n, queries). A row without a valid key has weights 0.
    """
    if valid_lens is None:
        return torch.softmax(scores, dim=-1)
    lens = valid_lens.reshape(len(scores), -1, 1)  # (n, 1 or queries, 1)
    steps = torch.arange(scores.shape[-1], device=scores.device)
    masked = steps >= lens  # (n, 1 or queries, keys)
    low = torch.finfo(scores.dtype).min  # -inf makes NaN of an empty row
    weights = torch.softmax(scores.masked_fill(masked, low), dim=-1)
    return weights.masked_fill(masked, 0)

# %%
# check 11.3-C1: zeros beyond the length, rows sum to 1, input unchanged
scores = torch.rand(2, 2, 4, generator=generator)
before = scores.clone()
for lens in ([2, 3], [[1, 3], [2, 4]]):
    weights = masked_softmax(scores, torch.tensor(lens))
    print(weights)
    for i in range(2):
        for j in range(2):
            l = lens[i] if isinstance(lens[i], int) else lens[i][j]
            assert (weights[i, j, l:] == 0).all()
            torch.testing.assert_close(weights[i, j, :l],
                                       torch.softmax(scores[i, j, :l], 0))
assert torch.equal(scores, before)
assert torch.equal(masked_softmax(scores), torch.softmax(scores, dim=-1))

# %% tags=["hide-input"]
# empty rows: zeros, no gradient, no NaN on the way; all number types
empty = torch.tensor([[0, 3], [4, 0]])
with torch.autograd.set_detect_anomaly(True):  # would raise at a NaN
    leaf = scores.clone().requires_grad_()
    weights = masked_softmax(leaf, empty)
    (weights * torch.arange(4.0)).sum().backward()
for i, j in ((0, 0), (1, 1)):
    assert not weights[i, j].any() and not leaf.grad[i, j].any()
for i, j in ((0, 1), (1, 0)):
    torch.testing.assert_close(weights[i, j].sum(), torch.tensor(1.0))
    assert leaf.grad[i, j].any()
for dtype in (torch.float16, torch.bfloat16, torch.float64):
    weights = masked_softmax(scores.to(dtype), empty)
    assert weights.dtype == dtype and not weights[0, 0].any()
    assert abs(weights[0, 1].sum() - 1) < 0.01 and weights[0, 1, 3] == 0
assert masked_softmax(scores.to("meta"), empty.to("meta")).is_meta
refused = False  # float16: an error, or minus infinity
try:
    half.masked_fill(nothing, -1e6)
except RuntimeError:
    refused = True
half[0, 2] = 1.0  # one key is left
assert refused and torch.softmax(half, dim=-1).tolist() == [[0, 0, 1]]
wild = torch.tensor([[[-5e4, -6e4, math.nan]]])  # a score that is masked
torch.testing.assert_close(masked_softmax(wild, torch.tensor([2])),
                           torch.tensor([[[1.0, 0.0, 0.0]]]))

# %% [markdown]
# ## Batches of matrices
#
# Scores and outputs are matrix products, one for each example.
# *Batch matrix multiplication* does them in one call:
#
# $$\mathrm{BMM}(\mathbf{Q},\mathbf{K})=[\mathbf{Q}_1\mathbf{K}_1,\dots,\mathbf{Q}_n\mathbf{K}_n]\in\mathbb{R}^{n\times a\times c}, \tag{11.3.5}$$
#
# for $\mathbf{Q}\in\mathbb{R}^{n\times a\times b}$ and $\mathbf{K}\in\mathbb{R}^{n\times b\times c}$.
# In PyTorch it is `torch.bmm`, or `@`, which accepts further leading axes.

# %%
# check 11.3-C2: ones (2, 3, 4) times ones (2, 4, 6); pairs stay together
product = torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 4, 6))
assert product.shape == (2, 3, 6) and (product == 4).all()
A = torch.randn(2, 3, 4, generator=generator)
B = torch.randn(2, 4, 6, generator=generator)
torch.testing.assert_close(torch.bmm(A, B), torch.stack(
    [A_i @ B_i for A_i, B_i in zip(A, B)]))
torch.testing.assert_close(A @ B, torch.bmm(A, B))

# %% [markdown]
# ## Scaled dot-product attention
#
# For one example with the queries $\mathbf{Q}\in\mathbb{R}^{n\times d}$, keys $\mathbf{K}\in\mathbb{R}^{m\times d}$ and values $\mathbf{V}\in\mathbb{R}^{m\times v}$ in rows ($n$ counts queries here), all outputs are
#
# $$\mathrm{softmax}\left(\frac{\mathbf{Q}\mathbf{K}^\top}{\sqrt d}\right)\mathbf{V}\in\mathbb{R}^{n\times v}, \tag{11.3.6}$$
#
# where softmax acts on each row of the $n\times m$ matrix of scores.
# The class follows Figure 11.3.1: `score`, then `pool`, which masks, normalizes, drops out some of the weights and averages the values.
# `project` prepares the keys; here it has nothing to do, but a subclass may compute there what depends on the keys alone, so that a decoder that asks again and again ([Section 11.4](04-bahdanau-attention.ipynb)) pays for it once.
# The weights are kept for drawing, without their graph and before dropout.

# %% tags=["export"]
class DotProductAttention(nn.Module):
    """Scaled dot-product attention; `attention_weights` keeps the last."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def project(self, keys):
        """The keys as `score` wants them; they need it only once."""
        return keys

    def score(self, queries, keys):
        """Scores (n, queries, keys)."""
        return queries @ keys.mT / math.sqrt(queries.shape[-1])

    def pool(self, scores, values, valid_lens=None):
        """Means (n, queries, v) of the values (n, keys, v)."""
        weights = masked_softmax(scores, valid_lens)
        self.attention_weights = weights.detach()
        return self.dropout(weights) @ values

    def forward(self, queries, keys, values, valid_lens=None):
        """(n, queries, v), for (n, queries, d), (n, keys, d), (n, keys, v).

        `valid_lens` is (n,), (n, queries) or None.
        """
        return self.pool(self.score(queries, self.project(keys)), values,
                         valid_lens)

# %% [markdown]
# If all keys are equal, attention is the mean of the valid values, here of the first 2 and the first 6 of ten:

# %%
# check 11.3-C3: toy shapes, (2, 1, 4); equal keys give a mean
values = torch.arange(40.0).reshape(1, 10, 4).repeat(2, 1, 1)
queries = torch.randn(2, 1, 2, generator=generator)
valid_lens = torch.tensor([2, 6])
attention = DotProductAttention(dropout=0.5).eval()
output = attention(queries, torch.ones(2, 10, 2), values, valid_lens)
print(output)
assert output.shape == (2, 1, 4)
for out, v, l in zip(output, values, valid_lens):
    torch.testing.assert_close(out[0], v[:l].mean(dim=0))

# %% [markdown]
# PyTorch has the same function as `F.scaled_dot_product_attention`, which fuses the steps where it can.
# It takes a boolean mask, or `is_causal=True` for the mask of a language model, in which query $i$ sees the keys up to $i$; for us these are the valid lengths $1,2,\dots$ of the queries.

# %%
# check 11.3-C4: our attention is PyTorch's, with three kinds of mask
Q, K = (torch.randn(3, 5, 8, generator=generator) for _ in "QK")
V = torch.randn(3, 5, 6, generator=generator)
lens, causal = torch.tensor([2, 5, 0]), torch.arange(1, 6).repeat(3, 1)
by_query = torch.tensor([[1, 5, 2, 3, 4], [5, 5, 0, 1, 2], [3] * 5])
attention, fused = DotProductAttention(), F.scaled_dot_product_attention
torch.testing.assert_close(attention(Q, K, V), fused(Q, K, V),
                           rtol=0, atol=1e-6)
torch.testing.assert_close(attention(Q, K, V, causal),
                           fused(Q, K, V, is_causal=True), rtol=0, atol=1e-6)
for l in (lens, by_query, causal):
    mask = torch.arange(5) < l.reshape(3, -1, 1)  # True: may attend
    expected = fused(Q, K, V, attn_mask=mask.expand(3, 5, 5))
    torch.testing.assert_close(attention(Q, K, V, l), expected,
                               rtol=0, atol=1e-6)

# %% tags=["hide-input"]
# gradients as PyTorch's, empty rows included; dropout; what is kept
mask = torch.arange(5) < by_query[..., None]
grads = []
for attend in (lambda *x: attention(*x, by_query),
               lambda *x: fused(*x, attn_mask=mask)):
    leaves = [x.clone().requires_grad_() for x in (Q, K, V)]
    attend(*leaves).square().sum().backward()
    grads.append([x.grad for x in leaves])
assert not Q.requires_grad  # the two had leaves of their own
for own, theirs in zip(*grads):
    torch.testing.assert_close(own, theirs)
assert not grads[0][0][1, 2].any() and grads[0][0][1, 1].any()
assert torch.equal(attention(Q, K, V, lens)[2], torch.zeros(5, 6))

dropping = DotProductAttention(dropout=0.5)
torch.manual_seed(0)
leaf = Q.clone().requires_grad_()
eye = torch.eye(5).expand(3, 5, 5)  # the output is the weights
seen, again = dropping(leaf, K, torch.cat((eye, eye), dim=-1)).chunk(2, -1)
assert torch.equal(seen, again)  # weights are dropped, not outputs
kept = dropping.attention_weights
assert not kept.requires_grad and seen.requires_grad
torch.testing.assert_close(kept, torch.softmax(attention.score(Q, K), -1))
assert torch.equal(seen, torch.where(seen == 0, 0.0, 2 * kept))
assert 0.2 < (seen == 0).float().mean() < 0.8
assert torch.equal(dropping.eval()(Q, K, eye), kept)

# %% [markdown]
# A weight of 0 does not protect against everything: $0\cdot\mathrm{NaN}$ is NaN, so a padded *value* must still be a finite number, for our class and for PyTorch's.
#
# If queries and keys have different sizes, a matrix $\mathbf{M}\in\mathbb{R}^{q\times k}$ of weights can stand between them, $\mathbf{q}^\top\mathbf{M}\mathbf{k}$ (Luong and others, 2015; Exercise 11.3-2).

# %% tags=["hide-input"]
spoilt = V.clone()
spoilt[1, 4] = math.nan  # beyond the valid length
short = torch.tensor([4, 4, 4])
mask = (torch.arange(5) < 4).expand(3, 5, 5)
for out in (attention(Q, K, spoilt, short), fused(Q, K, spoilt, mask)):
    assert out[1].isnan().all() and out[0].isfinite().all()

# %% [markdown]
# ## Additive attention
#
# The first attention of neural machine translation learned its score (Bahdanau, Cho and Bengio, 2014).
# Queries in $\mathbb{R}^q$ and keys in $\mathbb{R}^k$ are mapped to $h$ features each, added, and read out:
#
# $$a(\mathbf{q},\mathbf{k})=\mathbf{w}_v^\top\tanh(\mathbf{W}_q\mathbf{q}+\mathbf{W}_k\mathbf{k}), \tag{11.3.7}$$
#
# with learned $\mathbf{W}_q\in\mathbb{R}^{h\times q}$, $\mathbf{W}_k\in\mathbb{R}^{h\times k}$ and $\mathbf{w}_v\in\mathbb{R}^h$.
# Its size is at most the sum of the $|w_{v,j}|$, since $|\tanh|<1$.
# Queries and keys may have different sizes.
# There is no division by $\sqrt d$; the scale of $\mathbf{w}_v$ is learned.
# With $q=k=h=1$ and all weights 1, query and key 0.5 have the score $\tanh1\approx0.76$.

# %% tags=["export"]
class AdditiveAttention(DotProductAttention):
    """Attention whose score is a small network of query and key."""

    def __init__(self, query_size, key_size, num_hiddens, dropout=0.0):
        super().__init__(dropout)
        self.W_q = nn.Linear(query_size, num_hiddens, bias=False)
        self.W_k = nn.Linear(key_size, num_hiddens, bias=False)
        self.w_v = nn.Linear(num_hiddens, 1, bias=False)

    def project(self, keys):
        """Keys (n, keys, num_hiddens)."""
        return self.W_k(keys)

    def score(self, queries, keys):
        """Scores (n, queries, keys) of queries and *projected* keys."""
        features = self.W_q(queries).unsqueeze(2) + keys.unsqueeze(1)
        return self.w_v(torch.tanh(features)).squeeze(-1)

# %%
torch.manual_seed(0)
additive = AdditiveAttention(query_size=20, key_size=2, num_hiddens=8)
queries = torch.randn(2, 1, 20)
output = additive(queries, torch.ones(2, 10, 2), values, valid_lens)
assert output.shape == (2, 1, 4)  # check 11.3-C3: the same toy
for out, v, l in zip(output, values, valid_lens):
    torch.testing.assert_close(out[0], v[:l].mean(dim=0))
assert (additive.attention_weights > 0).sum(dim=-1).tolist() == [[2], [6]]

# %% [markdown]
# `features` has shape (n, queries, keys, h): every pair gets its own vector, $h$ times the memory of the scores, while the dot product needs one number for each pair (Exercises 11.3-3 and 11.3-4).
#
# Equation (11.3.7) is an MLP with one hidden layer on the concatenation of query and key: $[\mathbf{W}_q\ \mathbf{W}_k]$ times $[\mathbf{q};\mathbf{k}]$ is the sum of the two products.
# The split form maps each query and each key once, not once for every pair.

# %%
# check 11.3-C7: the additive score is an MLP on the concatenation
mlp = nn.Sequential(nn.Linear(22, 8, bias=False), nn.Tanh(),
                    nn.Linear(8, 1, bias=False))
with torch.no_grad():
    mlp[0].weight[:, :20], mlp[0].weight[:, 20:] = (
        additive.W_q.weight, additive.W_k.weight)
    mlp[2].weight.copy_(additive.w_v.weight)
queries, keys = torch.randn(2, 3, 20), torch.randn(2, 10, 2)
pairs = torch.cat((queries.unsqueeze(2).expand(2, 3, 10, 20),
                   keys.unsqueeze(1).expand(2, 3, 10, 2)), dim=-1)
scores = additive.score(queries, additive.project(keys))
torch.testing.assert_close(scores, mlp(pairs)[..., 0], rtol=0, atol=1e-5)
loud = additive.score(1000 * queries, additive.project(keys))
bound = additive.w_v.weight.abs().sum().item()
assert 0.3 * bound < loud.abs().max() <= bound + 1e-5
assert count_params(additive) == 8 * (20 + 2 + 1)
assert AdditiveAttention(2, 2, 2, dropout=0.3).dropout.p == 0.3

# %% [markdown]
# ## The fused operator in practice
#
# Four things to know before you use `F.scaled_dot_product_attention`.
#
# *True means opposite things.*
# In its `attn_mask`, True says *may attend*; in `nn.MultiheadAttention` (and its `key_padding_mask`) True says *ignore*.
# The wrong one raises no error.
# They also differ in an empty row: the function gives 0, the module, in the version of PyTorch used here, NaN as long as it returns its weights, which is the default.
#
# *The weights are available.*
# The function does not return them, but with the identity matrix as values its output is the weights.

# %%
single = nn.MultiheadAttention(8, 1, bias=False, batch_first=True)
with torch.no_grad():  # make its linear maps the identity
    single.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
    single.out_proj.weight.copy_(torch.eye(8))
mask = torch.rand(5, 5, generator=generator) < 0.5
mask[:, 0], mask[:, 1] = True, False  # no empty row, whichever way
for theirs, ours in ((~mask, mask), (mask, ~mask)):
    torch.testing.assert_close(single(Q, K, K, attn_mask=theirs)[0],
                               fused(Q, K, K, attn_mask=ours))
empty = torch.ones(5, 5, dtype=torch.bool)  # ignore everything
assert single(Q, K, K, attn_mask=empty)[0].isnan().all()
assert not single(Q, K, K, attn_mask=empty, need_weights=False)[0].any()
fast = (x[:, None] for x in (Q, K, K))  # 4 axes: the fast path, see below
assert not fused(*fast, attn_mask=~empty).any()
attention(Q, K, V)
torch.testing.assert_close(fused(Q, K, eye), attention.attention_weights)

# %%
Q8, K8 = torch.randn(2, 1, 8, 16, generator=generator)
i, j = torch.arange(8)[:, None], torch.arange(8)
masks = {"no mask": i + j >= 0, "padding": j < 6,
         "causal": j <= i, "window of 3": (j <= i) & (j > i - 3)}
maps = torch.stack([fused(Q8, K8, torch.eye(8)[None],
                          attn_mask=mask.expand(8, 8))
                    for mask in masks.values()], dim=1)  # (1, 4, 8, 8)

# %% tags=["hide-input"]
axes = show_heatmaps(maps, xlabel="keys", ylabel="queries",
                     titles=list(masks), figsize=(7.2, 2.2))
d2l.describe(axes, """Four heat maps of weights, 8 queries by 8 keys: all
    cells filled; the last two columns white; the upper triangle white; only
    the diagonal and the two cells left of it filled.""")

# %% [markdown]
# **Figure 11.3.3.** The same scores under four masks.
# Masked weights are exactly 0 and each row sums to 1, so the weights that remain grow.

# %%
attention(Q8, K8, K8)
plain = attention.attention_weights
torch.testing.assert_close(maps[:, 0], plain)
attention(Q8, K8, K8, torch.tensor([6]))
torch.testing.assert_close(maps[:, 1], attention.attention_weights)
attention(Q8, K8, K8, torch.arange(1, 9)[None])
torch.testing.assert_close(maps[:, 2], attention.attention_weights)
assert (maps[0, 3] > 0).sum(dim=-1).tolist() == [1, 2] + [3] * 6
assert (maps[0, 3].tril(-3) == 0).all() and (maps[0, 3].triu(1) == 0).all()
torch.testing.assert_close(maps.sum(dim=-1), torch.ones(1, 4, 8))
assert (maps >= torch.where(maps > 0, plain[:, None] - 1e-6, 0)).all()

# %% [markdown]
# *`is_causal` starts at the upper left.*
# If a model that has read three tokens brings two new ones, there are two queries and five keys.
# The first new query should see four keys, but with `is_causal=True` it sees one.
# In that case pass a mask that is aligned at the lower right; `torch.nn.attention.bias.causal_lower_right` makes one.
#
# *The fast path has conditions.*
# On a CPU, in this version of PyTorch, inputs (batch, heads, steps, features) take a path that keeps for the backward pass nothing of size queries times keys, except a mask of that size; without the axis of heads, with dropout, or with values of another size than the queries, they do not.

# %%
weights = fused(Q[:, 3:], K, eye, is_causal=True)
assert (weights > 0).sum(dim=-1).tolist() == [[1, 2]] * 3
lower_right = torch.ones(2, 5, dtype=torch.bool).tril(diagonal=3)
weights = fused(Q[:, 3:], K, eye, attn_mask=lower_right)
assert (weights > 0).sum(dim=-1).tolist() == [[4, 5]] * 3
torch.testing.assert_close(weights, fused(Q, K, eye, is_causal=True)[:, 3:])
assert torch.equal(weights, fused(Q[:, 3:], K, eye,
                                  attn_mask=causal_lower_right(2, 5)))


def kept_for_backward(function, *inputs):
    """Sizes of the tensors that autograd keeps, the largest first."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda x: (sizes.append(x.numel()), x)[1], lambda x: x):
        function(*(x.detach().requires_grad_() for x in inputs))
    return sorted(sizes, reverse=True)


heads = [torch.zeros(1, 1, 512, 8)] * 3
kept = {"4 axes": kept_for_backward(fused, *heads),
        "3 axes": kept_for_backward(fused, *(x[0] for x in heads)),
        "dropout": kept_for_backward(
            lambda *x: fused(*x, dropout_p=0.1), *heads),
        "other values": kept_for_backward(
            fused, *heads[:2], heads[2][..., :6])}
print({name: sizes[0] for name, sizes in kept.items()})  # the largest
assert kept["4 axes"][0] == 512 * 8
assert kept["3 axes"][0] == kept["dropout"][0] == 512 * 512
assert kept["other values"][0] == 512 * 512

# %% [markdown]
# ## Exact attention, block by block
#
# How can softmax be computed without holding all the scores at once?
# For large scores the maximum must be subtracted, or the exponentials overflow, and it is known only at the end.
# The *online softmax* (Milakov and Gimelshein, 2018) keeps a running maximum and sum, and corrects the sum as it goes; the output can be carried along in the same way.
# For each query keep the maximum $\mu$ of the scores so far, the sum $z$ of exponentials relative to it, and the unnormalized output $\mathbf{o}\in\mathbb{R}^v$.
# A block of keys with the scores $a_i$ and values $\mathbf{v}_i$ changes them to
#
# $$\mu'=\max(\mu,\max_ia_i),\qquad z'=e^{\mu-\mu'}z+\sum_ie^{a_i-\mu'},\qquad \mathbf{o}'=e^{\mu-\mu'}\mathbf{o}+\sum_ie^{a_i-\mu'}\mathbf{v}_i, \tag{11.3.8}$$
#
# where $\mu,\mu',z,z'$ are numbers; the start is $\mu=-\infty$, $z=0$, $\mathbf{o}=\mathbf{0}$, and the result $\mathbf{o}/z$.
#
# ![From the start the state passes through two blocks. Block 1 with the scores 1 and 3 gives the maximum 3 and the sum 1.135. At block 2 with the scores 2 and 5 the state is multiplied by exp(3 - 5), and the sum becomes 1.203.](img/score-online.svg)
#
# **Figure 11.3.4.** When a larger score arrives, what was summed so far is scaled down.
# The final sum is $e^{-4}+e^{-2}+e^{-3}+1$, as if all four scores had been seen at once.

# %%
def online_softmax_attention(Q, K, V, block):
    """Scaled dot-product attention, `block` keys at a time.

    Shapes as for `DotProductAttention`, with any leading axes.
    """
    top = Q.new_full((*Q.shape[:-1], 1), -math.inf)  # running maximum
    total, output = 0, 0
    for k, v in zip(K.split(block, dim=-2), V.split(block, dim=-2)):
        scores = Q @ k.mT / math.sqrt(Q.shape[-1])  # (n, queries, block)
        higher = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        shrink, weights = torch.exp(top - higher), torch.exp(scores - higher)
        total = shrink * total + weights.sum(dim=-1, keepdim=True)
        output = shrink * output + weights @ v
        top = higher
    return output / total

# %%
# check 11.3-C9: blocks give the same as all at once, any block size
Q, K = torch.randn(2, 2, 50, 8, generator=generator)
V = torch.randn(2, 50, 3, generator=generator)
for block in (16, 1, 7, 50):
    torch.testing.assert_close(online_softmax_attention(Q, K, V, block),
                               fused(Q, K, V), rtol=0, atol=1e-5)
deep = online_softmax_attention(*(x[:, None] for x in (Q, K, V)), 16)
torch.testing.assert_close(deep, fused(Q, K, V)[:, None])  # four axes
far = Q.abs() + 20  # scores near 1000 and -1000, one or both, either order
half = torch.where(torch.arange(50) < 25, 1, -1)[:, None]
for sign in (1, -1, half, -half):
    keys = sign * (K + 20)
    out = online_softmax_attention(far, keys, V, 16)
    torch.testing.assert_close(out, fused(far, keys, V), rtol=0, atol=1e-3)
    assert attention.score(far, keys).abs().min() > 500
mixed = half * far  # near 1000 for some queries, near -1000 for the others
torch.testing.assert_close(online_softmax_attention(mixed, K + 20, V, 16),
                           fused(mixed, K + 20, V), rtol=0, atol=1e-3)
four = online_softmax_attention(  # Figure 11.3.4; values are powers of 10
    torch.ones(1, 1), torch.tensor([[1.0], [3.0], [2.0], [5.0]]),
    torch.tensor([[1.0], [10.0], [100.0], [1000.0]]), 2)
parts = torch.exp(torch.tensor([-4.0, -2.0, -3.0, 0.0]))
assert abs(parts.sum() - 1.203) < 5e-4 and abs(parts[1] + 1 - 1.135) < 5e-4
torch.testing.assert_close(four.item(), (
    parts @ torch.tensor([1.0, 10, 100, 1000]) / parts.sum()).item(),
    rtol=1e-5, atol=0)

# %% [markdown]
# The largest tensor that arises on the way shrinks from queries times keys to queries times `block`; besides it there are a few numbers per query, linear in the length.

# %% tags=["hide-input"]
class Largest(TorchDispatchMode):
    """Keeps in `size` the most elements of a tensor made within."""

    size = 0

    def __torch_dispatch__(self, function, types, args, kwargs):
        output = function(*args, **kwargs)
        outputs = output if isinstance(output, tuple) else (output,)
        for x in outputs:
            if isinstance(x, torch.Tensor):
                self.size = max(self.size, x.numel())
        return output


def largest(function, *inputs):
    """Elements of the largest tensor that `function(*inputs)` makes."""
    with torch.no_grad(), Largest() as watch:
        function(*inputs)
    return watch.size


table = torch.zeros(3, 4)
assert largest(lambda: torch.full((3, 4), 1, dtype=torch.long)) == 12
assert largest(lambda x: x.max(dim=1), table) == 3  # of a pair
assert largest(lambda x: (2 * x).sum(), table) == 12 and not Largest.size

# %%
inputs = [x[0] for x in heads]  # (1, 512, 8) each
sizes = {"all at once": largest(attention, *inputs),
         "blocks of 16": largest(
             lambda *x: online_softmax_attention(*x, 16), *inputs)}
print(sizes)
assert sizes == {"all at once": 512 * 512, "blocks of 16": 512 * 16}
loop = kept_for_backward(lambda *x: online_softmax_attention(*x, 16), *inputs)
assert sum(loop) > 512 * 512  # not for training, see below

# %% [markdown]
# Rabe and Staats (2021) showed that attention does not need quadratic memory, and *FlashAttention* (Dao and others, 2022) made it fast on GPUs, with blocks that fit into the fast memory on the chip.
# It is exact, not an approximation, and still computes every score: time stays quadratic.
# One caution: automatic differentiation of our loop keeps the weights of every block, which together are as large as the full matrix.
# The fused kernels compute them again in the backward pass instead.
#
# ## Where it stands
#
# The scaled dot product is the usual score of today's Transformers.
# What changes are small edits around it, three of which follow.
# *QK-norm* normalizes queries and keys just before the product, so scores cannot exceed a scale that is learned (Henry and others, 2020); Gemma 3 and Qwen3 use a form of it.
# A *sink* is one more learned logit in the denominator of the softmax, so the weights sum to less than 1 and a head can attend to nearly nothing; gpt-oss (2025) has one for each head, with every other layer limited to a *sliding window* of 128 tokens.
# Windows are an old idea: Luong and others (2015) looked at a window around a predicted position, and Longformer (2020) used a sliding one for long documents.
# Each takes one line:

# %%
scale, sink = 10.0, 8.0  # learned numbers in a model
Q, K = 100 * Q, 100 * K
bounded = scale * F.normalize(Q, dim=-1) @ F.normalize(K, dim=-1).mT
with_sink = torch.softmax(F.pad(bounded, (0, 1), value=sink), -1)[..., :-1]
window = (j <= i) & (j > i - 3)  # as in Figure 11.3.3
tops = [x.abs().max().item() for x in (bounded, attention.score(Q, K))]
totals = with_sink.sum(dim=-1)
print(f"largest score {tops[0]:.2f} with QK-norm, {tops[1]:.0f} without; "
      f"total weights from {totals.min():.2f} to {totals.max():.2f}")
assert 5 < tops[0] <= scale + 1e-4 and tops[1] > 1000
assert 0 < totals.min() < 0.3 and 0.6 < totals.max() < 1
torch.testing.assert_close(bounded, scale * F.cosine_similarity(
    Q.unsqueeze(2), K.unsqueeze(1), dim=-1))
torch.testing.assert_close(with_sink, bounded.exp() / (
    math.exp(sink) + bounded.exp().sum(dim=-1, keepdim=True)))
torch.testing.assert_close(with_sink, torch.softmax(bounded, dim=-1) * (
    bounded.logsumexp(dim=-1, keepdim=True) - sink).sigmoid())
assert torch.equal(window, masks["window of 3"])

# %% [markdown]
# `torch.nn.attention.flex_attention` takes a mask, such as the window, or a change of a score that needs only the score and its indices, as a Python function; `torch.compile` makes a fused kernel of it, and without that call all scores are stored (Dong and others, 2024).
# QK-norm happens before it.
# A sink $s$ can be applied after it, since it multiplies the output of each query by one number, the sigmoid of $\log\sum_j e^{a_j}-s$.
#
# ## Summary
#
# - For keys of equal length, the weights of the Gaussian kernel are the softmax of a dot product; with unequal lengths the dot product gives each key half its squared length more.
# - The scale $1/\sqrt d$ keeps scores of standard normal entries at variance 1. Without it, at $d=1024$, the gradient of softmax was small; the mean gradient of the queries was not, and few queries carried it.
# - Mask before the softmax, and decide what an empty row gives: $-10^6$ attends to padding, $-\infty$ gives NaN, the fused operator and our function give 0.
# - Additive attention is an MLP on query and key; it needs $h$ numbers for each pair, the dot product one.
# - Boolean masks mean opposite things in two functions of PyTorch, and `is_causal` aligns at the upper left.
# - A running maximum and sum make attention exact in blocks, with memory linear in the length for the forward pass; training with as little memory needs a backward pass that computes the weights again.

# %% [markdown]
# ## Exercises
#
# ### Exercise 11.3-1
#
# Write attention with the Gaussian score of (11.3.1) and a width $\sigma$ as a subclass of `DotProductAttention`, without computing any difference of query and key.
# What must be known about each key besides its entries?
# Check it against `nadaraya_watson`, and find two keys between which the dot product and the distance choose differently.

# %% [markdown]
# #### Solution 11.3-1

# %% [markdown]
# Half of its squared norm, which `project` can append as one more coordinate; the query gets a 1 there.
# For $\mathbf{q}=(1,0)$ the key $(3,0)$ has the larger dot product than $(1,0)$, but the latter has distance 0.

# %%
class DistanceAttention(DotProductAttention):
    """Attention with the score -||q - k||^2 / (2 sigma^2)."""

    def __init__(self, sigma=1.0, dropout=0.0):
        super().__init__(dropout)
        self.sigma = sigma

    def project(self, keys):
        half_norm = keys.square().sum(dim=-1, keepdim=True) / 2
        return torch.cat((keys, -half_norm), dim=-1)  # (n, keys, d + 1)

    def score(self, queries, keys):
        queries = F.pad(queries, (0, 1), value=1)  # (n, queries, d + 1)
        return queries @ keys.mT / self.sigma**2

# %%
generator = torch.Generator().manual_seed(0)
Q = torch.randn(2, 5, 3, generator=generator)
K = torch.randn(2, 7, 3, generator=generator)
distance = DistanceAttention(sigma=0.7)
distance(Q, K, K)
torch.testing.assert_close(
    distance.attention_weights,
    torch.softmax(-torch.cdist(Q, K)**2 / (2 * 0.7**2), dim=-1))
x, y = torch.rand(2, 30, generator=generator)
at = torch.linspace(0, 1, 9)
y_hat, _ = nadaraya_watson(x, y, at,
                           lambda u: torch.exp(-u.square() / (2 * 0.1**2)))
torch.testing.assert_close(DistanceAttention(0.1)(
    at[None, :, None], x[None, :, None], y[None, :, None])[0, :, 0], y_hat)
q, K = torch.tensor([[[1.0, 0]]]), torch.tensor([[[1.0, 0], [3, 0]]])
lead = []  # of the second key, in the logarithm of the weights
for attend in (DistanceAttention(), DotProductAttention()):
    attend(q, K, K)
    lead.append(attend.attention_weights.log().diff().item())
print(f"lead of the longer key: by distance {lead[0]:.2f}, "
      f"by dot product {lead[1]:.2f}")
assert abs(lead[0] + 2) < 1e-5 and abs(lead[1] - 2**0.5) < 1e-5

# %% [markdown]
# ### Exercise 11.3-2
#
# Implement the bilinear score $\mathbf{q}^\top\mathbf{M}\mathbf{k}/\sqrt q$ for queries of size $q=20$ and keys of size $k=6$.
# What does it mean for $\mathbf{M}$ if queries and keys are mapped to $r=2$ features first and their dot product is taken?

# %% [markdown]
# #### Solution 11.3-2

# %% [markdown]
# `project` applies $\mathbf{M}$ to the keys.
# With $\mathbf{W}_q\in\mathbb{R}^{r\times q}$ and $\mathbf{W}_k\in\mathbb{R}^{r\times k}$ the score is $(\mathbf{W}_q\mathbf{q})^\top\mathbf{W}_k\mathbf{k}=\mathbf{q}^\top(\mathbf{W}_q^\top\mathbf{W}_k)\mathbf{k}$, so $\mathbf{M}$ has rank at most $r$ and $r(q+k)$ parameters instead of $qk$.
# A head of [Section 11.5](05-multi-head-attention.ipynb) is such a score.

# %%
class BilinearAttention(DotProductAttention):
    """Attention with the score q^T M k / sqrt(query_size)."""

    def __init__(self, query_size, key_size, dropout=0.0):
        super().__init__(dropout)
        self.M = nn.Linear(key_size, query_size, bias=False)

    def project(self, keys):
        return self.M(keys)  # (n, keys, query_size)


torch.manual_seed(0)
bilinear = BilinearAttention(20, 6)
Q, K = torch.randn(2, 3, 20), torch.randn(2, 7, 6)
assert bilinear(Q, K, K, torch.tensor([4, 7])).shape == (2, 3, 6)
scores = bilinear.score(Q, bilinear.project(K))
torch.testing.assert_close(scores, torch.einsum(
    "nid,de,nje->nij", Q, bilinear.M.weight, K) / 20**0.5)

# %%
W_q, W_k = torch.randn(2, 20), torch.randn(2, 6)
with torch.no_grad():
    assert torch.linalg.matrix_rank(bilinear.M.weight) == 6
    bilinear.M.weight.copy_(W_q.T @ W_k)
    assert torch.linalg.matrix_rank(bilinear.M.weight) == 2
    torch.testing.assert_close(bilinear.score(Q, bilinear.project(K)),
                               (Q @ W_q.T) @ (K @ W_k.T).mT / 20**0.5)
assert W_q.numel() + W_k.numel() == 2 * (20 + 6) < count_params(bilinear)

# %% [markdown]
# ### Exercise 11.3-3
#
# For $n$ queries, $m$ keys of size $d$, values of size $v$ and, for the additive score, $h$ features: how many operations (a multiplication and an addition count 2) are in the matrix products, and how large is the largest tensor that arises?
# Compare with PyTorch's counter.

# %% [markdown]
# #### Solution 11.3-3

# %% [markdown]
# The dot product needs $2nmd$ operations for the scores and $2nmv$ for the output, and its largest tensor has $nm$ elements, if $n$ and $m$ are larger than $d$ and $v$.
# The additive score needs $2(n+m)dh$ for the two maps and $2nmh$ for reading out, plus $nmh$ tanh, which the counter leaves out; the output costs the same $2nmv$.
# Its largest tensor has $nmh$ elements.
# For long inputs both are quadratic; the factor is $d$ for the one and $h$ for the other in operations, but 1 against $h$ in memory.

# %%
def operations(attention, *inputs):
    """Operations in matrix products, by PyTorch's counter."""
    with FlopCounterMode(display=False) as counter:
        attention(*inputs)
    return counter.get_total_flops()


n, m, d, v, h = 20, 30, 8, 4, 16
Q, K, V = torch.zeros(1, n, d), torch.zeros(1, m, d), torch.zeros(1, m, v)
dot, additive = DotProductAttention(), AdditiveAttention(d, d, h)
for name, attend in (("dot product", dot), ("additive", additive)):
    print(f"{name}: {operations(attend, Q, K, V)} operations, "
          f"{largest(attend, Q, K, V)} elements")
assert operations(dot, Q, K, V) == 2 * n * m * (d + v)
assert operations(additive, Q, K, V) == (
    2 * (n + m) * d * h + 2 * n * m * h + 2 * n * m * v)
assert largest(dot, Q, K, V) == n * m
assert largest(additive, Q, K, V) == n * m * h

# %% [markdown]
# ### Exercise 11.3-4
#
# Measure the time of additive, dot-product and fused attention for `bench_steps` queries and keys of size 64 and 64 features.
# Repeat each measurement and report the median.

# %% [markdown]
# #### Solution 11.3-4

# %% [markdown]
# The three take turns, so a disturbance affects all of them; the first round warms up and is dropped.
# Times depend on the machine, so none is asserted here; what does not depend on it is the 64 times larger tensor of the additive score.

# %%
def seconds(function, *inputs):
    """Duration of one call, with the work that it queues on a device."""
    begin = time.perf_counter()
    output = function(*inputs)
    if output.device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - begin


device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")
torch.manual_seed(0)
inputs = [torch.randn(1, bench_steps, 64, device=device) for _ in "QKV"]
rivals = {"additive": AdditiveAttention(64, 64, 64).to(device),
          "dot product": DotProductAttention(),
          "fused": lambda *x: fused(*(y[None] for y in x))[0]}  # 4 axes
with torch.no_grad():
    rounds = torch.tensor([[seconds(f, *inputs) for f in rivals.values()]
                           for _ in range(6)])  # (rounds, rivals)
    torch.testing.assert_close(
        *(rivals[name](*inputs) for name in ("fused", "dot product")),
        rtol=0, atol=1e-4)
median = rounds[1:].median(dim=0).values
assert median.shape == (3,) and (median > 0).all()
assert largest(rivals["additive"], *inputs) == 64 * bench_steps**2

# %% tags=["timing"]
for name, t in zip(rivals, median.tolist()):
    print(f"{name}: {1000 * t:.2f} ms")

# %% [markdown]
# ### Exercise 11.3-5
#
# Write `sink_softmax(scores, sink)`, a softmax with one more, always visible logit whose weight is thrown away.
# How does it relate to fused attention with one more key, whose value is zero?
# What does it give in a row without valid keys, and what with a single key?

# %% [markdown]
# #### Solution 11.3-5

# %% [markdown]
# The weights are $\exp(a_i)/(e^s+\sum_j\exp(a_j))$ with the sink $s$; they sum to less than 1.
# A zero value adds nothing to the output but its weight is in the denominator, so the two agree if the extra key has the score $s$ for every query: a zero key, whose dot products are 0, plus $s$ from a mask of numbers, which the fused operator adds to the scores.
# An empty row gives 0 without a special case, since the denominator is at least $e^s$.
# With a single key the weight is the sigmoid of $a-s$, and for $s\to-\infty$ the ordinary softmax returns.

# %%
def sink_softmax(scores, sink):
    """Weights (..., keys) for scores (..., keys) beside a logit `sink`."""
    padded = F.pad(scores, (0, 1), value=sink)
    return torch.softmax(padded, dim=-1)[..., :-1]


Q, K, V = torch.randn(3, 2, 5, 8, generator=generator)
scores, s = DotProductAttention().score(Q, K), 0.7
weights = sink_softmax(scores, s)
assert (weights > 0).all() and (weights.sum(dim=-1) < 0.999).all()
torch.testing.assert_close(weights, scores.exp() / (
    math.exp(s) + scores.exp().sum(dim=-1, keepdim=True)))
bias = F.pad(torch.zeros(5, 5), (0, 1), value=s)  # (5, 6)
more_K, more_V = (F.pad(x, (0, 0, 0, 1)) for x in (K, V))  # (2, 6, 8)
torch.testing.assert_close(weights @ V,
                           fused(Q, more_K, more_V, attn_mask=bias))
nothing = torch.full((1, 4), -math.inf)
assert torch.equal(sink_softmax(nothing, s), torch.zeros(1, 4))
torch.testing.assert_close(sink_softmax(scores[..., :1], s),
                           torch.sigmoid(scores[..., :1] - s))
torch.testing.assert_close(sink_softmax(scores, -100.0),
                           torch.softmax(scores, dim=-1))

# %% [markdown]
# ## Sources
#
# - A. Vaswani et al., Attention is all you need, 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762): the scaled dot product and the argument from variance.
# - D. Bahdanau, K. Cho and Y. Bengio, Neural machine translation by jointly learning to align and translate, 2014, [arXiv:1409.0473](https://arxiv.org/abs/1409.0473): the additive score.
# - M.-T. Luong, H. Pham and C. D. Manning, Effective approaches to attention-based neural machine translation, 2015, [arXiv:1508.04025](https://arxiv.org/abs/1508.04025): dot product and bilinear score.
# - M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, 2018, [arXiv:1805.02867](https://arxiv.org/abs/1805.02867).
# - M. N. Rabe and C. Staats, Self-attention does not need $O(n^2)$ memory, 2021, [arXiv:2112.05682](https://arxiv.org/abs/2112.05682).
# - T. Dao et al., FlashAttention: fast and memory-efficient exact attention with IO-awareness, 2022, [arXiv:2205.14135](https://arxiv.org/abs/2205.14135).
# - A. Henry, P. R. Dachapally, S. Pawar and Y. Chen, Query-key normalization for Transformers, 2020, [arXiv:2010.04245](https://arxiv.org/abs/2010.04245).
# - Gemma Team, Gemma 3 technical report, 2025, [arXiv:2503.19786](https://arxiv.org/abs/2503.19786); A. Yang et al., Qwen3 technical report, 2025, [arXiv:2505.09388](https://arxiv.org/abs/2505.09388): QK-norm.
# - OpenAI, gpt-oss-120b & gpt-oss-20b model card, 2025, [arXiv:2508.10925](https://arxiv.org/abs/2508.10925): sink and alternating windows.
# - I. Beltagy, M. E. Peters and A. Cohan, Longformer: the long-document Transformer, 2020, [arXiv:2004.05150](https://arxiv.org/abs/2004.05150): attention in a sliding window.
# - J. Dong et al., Flex attention: a programming model for generating optimized attention kernels, 2024, [arXiv:2412.05496](https://arxiv.org/abs/2412.05496).
# - PyTorch, [pull request 131060](https://github.com/pytorch/pytorch/pull/131060), 2024: empty rows of the fused operator, and [issue 101967](https://github.com/pytorch/pytorch/issues/101967): NaN in padded positions.
