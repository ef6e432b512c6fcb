# ---
# jupyter:
#   d2l:
#     data: [brown, masc-tagged, wikitext-2, word-similarity]
#     profiles:
#       gpu:
#         num_epochs: 50
#         num_gpus: 1
#       smoke:
#         step: 10
#         num_words: 400
#         num_epochs: 2
#         num_seeds: 1
#         resamples: 10
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
# # 15.5 Word embedding with global vectors (GloVe)
#
# Skip-gram reads the text over and over, yet all that its loss takes from the text is how often each pair of words meets.
# So why not count the pairs once, and fit the vectors to the table?
# GloVe does so by weighted least squares; a truncated singular value decomposition does something close to it with no training loop at all.
#
# **You will**
#
# - write the skip-gram loss as a function of a table of counts, and fill this table with a few operations on arrays;
# - derive GloVe from a demand on ratios of probabilities, and say where the derivation has a choice;
# - train it, and measure what its loss, its biases and its vectors say, and what they leave open;
# - factorize pointwise mutual information instead, and compare the methods on the same words, windows, dimension and human judgements.
#
# **Cost**: about half a minute on a CPU, with no need for a GPU; downloads of 6 MB, once.

# %%
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds
from scipy.stats import spearmanr
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.nlp_pretraining import (
    WORD_CORPORA, dynamic_pairs, judged_pairs, nearest, read_corpus,
    shuffled, similarity_score, skipgram_logprob, window_positions)
from d2l_helpers.chapters.recurrent_neural_networks import Vocab

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
step = 1  # 10: every tenth sentence only
num_words = 2000  # most frequent words, for GloVe
num_epochs = 6  # of GloVe
num_seeds = 3  # runs of GloVe
num_gpus = 0  # 1: train on an accelerator, if there is one
resamples = 100  # of the judged pairs, for errors of differences

# %% [markdown]
# ## Counting once
#
# Let $x_{ij}$ be the number of times that word $j$ stands in the window of word $i$: the *co-occurrence count* of the pair.
# Take the sentences "k j i k l" and "j k i k m" with a window of radius $m=2$.
# The windows of the two centers "i" hold j twice, k four times, l and m once each, so the row of $i$ is 2, 4, 1, 1 in the columns j, k, l, m, and its sum is $x_i=\sum_jx_{ij}=8$.
#
# The logarithm of the skip-gram likelihood ([Section 15.1](01-word2vec.ipynb)) has one term for each pair of a center and a context word, and pairs of the same two words have the same term.
# Collected, with $q_{ij}=P(w_j\mid w_i)$ for the model's probability and $p_{ij}=x_{ij}/x_i$ for the observed share, the loss is
#
# $$-\sum_{i,j\in\mathcal V}x_{ij}\log q_{ij}=\sum_{i\in\mathcal V}x_i\,H(p_i,q_i),\qquad H(p_i,q_i)=-\sum_{j\in\mathcal V}p_{ij}\log q_{ij}. \tag{15.5.1}$$
#
# Here $H$ is the cross-entropy in nats of the two distributions over the vocabulary $\mathcal V$, and $i$ numbers centers, $j$ contexts.
# The order of the text enters only through the table.
#
# `cooccurrence` shifts the text against itself by $d=1,\dots,m$ places, as in [Section 15.3](03-word2vec-data.ipynb), and stores only the counts that are not zero.
# With `weighting="harmonic"` a pair at distance $d$ counts $1/d$, as in the paper on GloVe (Pennington and others, 2014), which expects less from distant words; we use flat counts, and Exercise 15.5-1 compares the two.

# %% tags=["export"]
def cooccurrence(ids, sentence_ids, m, weighting="flat", num_words=None):
    """How often each word stands in the window of each other one.

    `ids` and `sentence_ids` (T,) are words and their sentences, as in
    `Corpus`; no pair joins two sentences. m is the fixed radius of the
    window; a pair at distance d counts 1, or 1 / d with the `weighting`
    "harmonic" (Pennington et al., 2014). Returns a csr_array of SciPy,
    (V, V), float64 and symmetric; V is `num_words`, or else one more than
    the largest index. Raises ValueError for another weighting, m < 1,
    tensors of other shapes, sentence numbers that fall, or an index
    outside 0, ..., V - 1.
    """
    if weighting not in ("flat", "harmonic") or m < 1:
        raise ValueError(f"weighting {weighting!r} and m = {m}; choose 'flat'"
                         " or 'harmonic', and m >= 1.")
    if ids.ndim != 1 or ids.shape != sentence_ids.shape or not len(ids):
        raise ValueError(f"ids have shape {tuple(ids.shape)}, sentence_ids "
                         f"{tuple(sentence_ids.shape)}; give (T,), T >= 1.")
    V = int(ids.max()) + 1 if num_words is None else num_words
    if ids.min() < 0 or ids.max() >= V or (sentence_ids.diff() < 0).any():
        raise ValueError(f"indices must be from 0 to {V - 1} and sentence_ids"
                         " must not fall; keep the order of the corpus.")
    ids, sentence_ids = ids.numpy(), sentence_ids.numpy()
    right = sparse.csr_array((V, V))  # contexts to the right of the center
    for d in range(1, min(m, len(ids) - 1) + 1):
        same = sentence_ids[d:] == sentence_ids[:-d]  # (T - d,)
        weight = np.full(same.sum(), 1 if weighting == "flat" else 1 / d)
        right += sparse.coo_array(
            (weight, (ids[:-d][same], ids[d:][same])), shape=(V, V)).tocsr()
    return (right + right.T).tocsr()

# %%
found = [d2l.fetch(name) for name in WORD_CORPORA]
corpus = read_corpus(*found, step=step)
ids, sentence_ids, vocab, counts = corpus
X = cooccurrence(ids, sentence_ids, 5, num_words=len(vocab))
measured = step == 1 and all(one.is_real for one in found)
print(f"{X.sum():,.0f} pairs of {len(vocab) - 1:,} words; "
      f"{X.nnz:,} counts are not 0, {X.nnz / len(vocab)**2:.1%} of the table")

# %% tags=["hide-input"]
shown = counts.argsort(descending=True, stable=True)[:40].numpy()
corner = X[shown][:, shown].toarray()
fig, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
image = ax.imshow(np.log10(np.maximum(corner, 0.5)), cmap="cividis")
labels = vocab.to_tokens(torch.from_numpy(shown))
ax.set_xticks(range(len(shown)), labels, rotation=90, fontsize=7)
ax.set_yticks(range(len(shown)), labels, fontsize=7)
ax.set(xlabel="context", ylabel="center")
ax.grid(False)
fig.colorbar(image, label="logarithm of the count, base 10", shrink=0.8)
d2l.describe(ax, """A heat map of the co-occurrence counts of the 40 most
    frequent words, on a logarithmic scale. It is symmetric about the
    diagonal. The rows and columns of the most frequent words are bright;
    a few cells are dark, such as those of are with had and with was.""")

# %% [markdown]
# **Figure 15.5.1.** Counts among the 40 most frequent words. Below and above the diagonal the picture is the same.
#
# With a fixed radius, $j$ is in the window of $i$ whenever $i$ is in that of $j$, so $x_{ij}=x_{ji}$, and row sums equal column sums.
# The randomly shrunk windows of [Section 15.3](03-word2vec-data.ipynb) do not have this symmetry: the radius of one center may reach the other word, and not the reverse.
# Only in expectation are their counts symmetric.

# %%
# check 15.5-C1: the multiset of the example
letters = {letter: i for i, letter in enumerate("ijklm")}
text = torch.tensor([letters[w] for w in "kjiklj" "kikm"])
lines = torch.tensor([0] * 5 + [1] * 5)
row = cooccurrence(text, lines, 2).toarray()[letters["i"]]
assert row.tolist() == [0, 2, 4, 1, 1] and row.sum() == 8
row = cooccurrence(text, lines, 2, "harmonic").toarray()[letters["i"]]
assert row.tolist() == [0, 1.5, 3.5, 0.5, 0.5]

# %%
# check 15.5-C3: symmetric for a fixed window; all pairs, each once
assert (X != X.T).nnz == 0
lengths = torch.bincount(sentence_ids)
x_i = X.sum(axis=1)  # (V,)
frequent = np.sort(x_i)[-100:].sum() / x_i.sum()
print(f"the 100 words with the largest x_i are centers of {frequent:.1%}")
assert not measured or abs(frequent - 0.5) < 0.03
assert X.sum() == 2 * sum((lengths - d).clamp(min=0).sum().item()
                          for d in range(1, 6))
words = ids[:1000].unique(return_inverse=True)[1]  # numbered anew
bounds = sentence_ids[:1000]
few_X = torch.from_numpy(cooccurrence(words, bounds, 5).toarray())
pairs = [words[place] for place in window_positions(bounds, 5)]
table = torch.zeros_like(few_X).index_put(
    tuple(pairs), torch.ones((), dtype=f64), accumulate=True)
assert torch.equal(few_X, table)
generator = torch.Generator().manual_seed(0)
shrunk = torch.zeros_like(few_X).index_put(
    dynamic_pairs(words, bounds, 5, generator),
    torch.ones((), dtype=f64), accumulate=True)
assert (shrunk != shrunk.mT).sum() > 300

# %%
# check 15.5-C2: the loss in counts is the sum over the pairs
U, V = torch.randn(2, len(few_X), 8, generator=generator, dtype=f64)
by_pair = -skipgram_logprob(U, V, *pairs).sum()
log_q = F.log_softmax(V @ U.mT, dim=1)  # (words, words)
x_i = few_X.sum(dim=1)  # 0 for a word that is alone in its sentence
H = -(few_X / x_i.clamp(min=1)[:, None] * log_q).sum(dim=1)  # (words,)
print(f"{by_pair:.6f} from {len(pairs[0]):,} pairs, "
      f"{-(few_X * log_q).sum():.6f} from the table")
torch.testing.assert_close(-(few_X * log_q).sum(), by_pair, rtol=1e-12,
                           atol=0)
torch.testing.assert_close(x_i @ H, by_pair, rtol=1e-12, atol=0)

# %% tags=["hide-input"]
for wrong in (dict(m=0), dict(weighting="1/d"), dict(num_words=4),
              dict(ids=text - 1), dict(sentence_ids=lines[:3]),
              dict(sentence_ids=1 - lines)):
    try:
        cooccurrence(**(dict(ids=text, sentence_ids=lines, m=2) | wrong))
    except ValueError as error:
        print("ValueError:", error)
        assert any(word in str(error) for word in ("choose", "give", "keep"))
    else:
        raise AssertionError(f"{wrong} was accepted")

# %% [markdown]
# ## From cross-entropy to least squares
#
# Pennington and others have three objections to (15.5.1).
# Normalizing $q_i$ costs a sum over the whole vocabulary for every center.
# And the cross-entropy is only one of many distances between distributions, one that, they write, gives too much weight to unlikely events when tails are long.
# Finally, the factor $x_i$ comes with reading the text pair by pair, and nothing guarantees that it is the best weight: in our table, a hundred words are the centers of half of the pairs.
#
# So they give up probabilities that sum to 1 and compare logarithms of plain counts.
# Center $i$ has a vector $\mathbf v_i\in\mathbb{R}^d$ and a bias $b_i$, context $j$ a vector $\mathbf u_j\in\mathbb{R}^d$ and a bias $c_j$, and *GloVe* minimizes
#
# $$\sum_{i,j:\,x_{ij}>0}h(x_{ij})\left(\mathbf u_j^\top\mathbf v_i+b_i+c_j-\log x_{ij}\right)^2 \tag{15.5.2}$$
#
# where $d$ is from now on the dimension, no longer a distance, with the weight
#
# $$h(x)=\begin{cases}(x/x_{\max})^\alpha&x<x_{\max},\\1&\text{otherwise.}\end{cases} \tag{15.5.3}$$
#
# The paper takes $x_{\max}=100$ and $\alpha=0.75$, and reports that $0.75$ gave a modest improvement over 1.
# Pairs that never meet have $\log0$ and are left out, which $h(0)=0$ expresses; they are most of the table.
# A pair that met 10 times weighs $0.1^{0.75}=0.18$, one that met once 0.03.

# %% tags=["export"]
def glove_weight(x, x_max=100.0, alpha=0.75):
    """The weight (x / x_max) ** alpha, at most 1, of counts of any shape.

    Source: Pennington et al. (2014), eq. 9.
    """
    return (x / x_max).clamp(max=1) ** alpha


def glove_loss(U, V, b, c, i, j, x, x_max=100.0, alpha=0.75):
    """Weighted squared errors of predicted log-counts, one for each entry.

    `V` and `U` (words, d) hold center and context vectors, `b` and `c`
    (words,) their biases; `i` and `j` (n,) are centers and contexts, and
    `x` (n,) their counts, all above 0. Returns (n,). Raises ValueError if
    the shapes do not fit. Source: Pennington et al. (2014), eq. 8.
    """
    if U.shape != V.shape or not b.shape == c.shape == V.shape[:1] or (
            not i.shape == j.shape == x.shape):
        raise ValueError(
            f"U {tuple(U.shape)} and V {tuple(V.shape)} need equal shapes "
            f"(words, d), b {tuple(b.shape)} and c {tuple(c.shape)} (words,)"
            f", i {tuple(i.shape)}, j {tuple(j.shape)} and x "
            f"{tuple(x.shape)} equal ones.")
    b, c = (F.embedding(k, bias[:, None])[:, 0]
            for k, bias in ((i, b), (j, c)))
    score = (F.embedding(j, U) * F.embedding(i, V)).sum(dim=1) + b + c
    return glove_weight(x, x_max, alpha) * (score - x.log()) ** 2

# %%
# check 15.5-C4: the weight at 0, 1, 10, 50, 100 and 1000
h = glove_weight(torch.tensor([0.0, 1, 10, 50, 100, 1000], dtype=f64))
print([round(value, 4) for value in h.tolist()])
assert (h - torch.tensor([0, 0.0316, 0.1778, 0.5946, 1, 1])).abs().max() < 5e-5
assert glove_weight(torch.tensor(5.0), x_max=10, alpha=1) == 0.5

# %% [markdown]
# ### The words that are fitted
#
# To keep the training short, we fit the 2000 most frequent words and the windows among them.
# The rows of the vocabulary that we keep stay in alphabetical order, with "<unk>", whose row is empty, at the beginning.

# %%
common = counts.argsort(descending=True, stable=True)[:num_words]
kept = torch.cat((torch.tensor([vocab.unk]), common)).unique()  # sorted
small = Vocab(vocab.to_tokens(kept))
assert vocab[small.idx_to_token] == kept.tolist()
Y = X[kept.numpy()][:, kept.numpy()]  # (num_words + 1, num_words + 1)
Y.sort_indices()
in_row = np.diff(Y.indptr)[1:]  # without "<unk>"
print(f"{Y.nnz:,} counts, {Y.nnz / Y.shape[0]**2:.1%} of the table; "
      f"{(Y.data == 1).mean():.0%} of them are 1; from {in_row.min()} to "
      f"{in_row.max()} in a row")

# %% tags=["hide-input"]
values, number = np.unique(Y.data, return_counts=True)
weight = number * glove_weight(torch.from_numpy(values)).numpy()
share = [part.cumsum() / part.sum() for part in (number, weight)]
grid = torch.linspace(0, 150, 301)
_, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
axes[0].plot(grid, glove_weight(grid))
axes[0].set(xlabel="count x", ylabel="weight h(x)")
for part, name, style in zip(share, ("entries", "weight"), ("-", "--")):
    axes[1].semilogx(values, 100 * part, style, label=name)
axes[1].set(xlabel="counts up to", ylabel="share (%)", ylim=(0, 102))
axes[1].legend()
d2l.describe(axes, """Left the weight over the count: it rises steeply at
    first, then less, and is 1 from a count of 100 on. Right two cumulative
    shares over the count, which is on a logarithmic axis: that of the
    entries begins at 50 per cent and passes 90 below a count of 10; that
    of the weight begins at 18 per cent and lies below it everywhere.""")

# %% [markdown]
# **Figure 15.5.2.** Left: the weight of one entry. Right: how much of the entries, and of their total weight, belongs to counts up to a given one.

# %%
# check: shares of Figure 15.5.2, and rows of very different length
full = measured and num_words == 2000
if full:
    assert 100 < in_row.min() < 150 and in_row.max() > 1900
    assert 0.47 < share[0][0] < 0.54 and 1 / 6 < share[1][0] < 0.19
    assert (values[share[0] < 0.9]).max() < 10

# %% [markdown]
# Pairs that met once are half of the entries, and still more than a sixth of the weight.
#
# The gradient of one term with the residual $r_{ij}=\mathbf u_j^\top\mathbf v_i+b_i+c_j-\log x_{ij}$ is $2h(x_{ij})\,r_{ij}\,\mathbf u_j$ for $\mathbf v_i$, the same with $\mathbf v_i$ for $\mathbf u_j$, and $2h(x_{ij})\,r_{ij}$ for both biases.

# %%
# check 15.5-C5: the gradient, and zero loss where the model is exact
generator = torch.Generator().manual_seed(1)
U, V = torch.randn(2, 30, 3, generator=generator, dtype=f64)
b, c = torch.randn(2, 30, generator=generator, dtype=f64)
i, j = torch.cartesian_prod(torch.arange(30), torch.arange(30)).T
exact = (U[j] * V[i]).sum(dim=1) + b[i] + c[j]  # (900,)
assert glove_loss(U, V, b, c, i, j, exact.exp()).max() < 1e-20
x = torch.randint(1, 300, (900,), generator=generator).to(f64)
tables = [part.clone().requires_grad_() for part in (U, V, b, c)]
losses = glove_loss(*tables, i, j, x)
grads = torch.autograd.grad(losses.sum(), tables)
hr = (2 * glove_weight(x) * (exact - x.log())).reshape(30, 30)
for ours, theirs in zip((hr.mT @ V, hr @ U, hr.sum(dim=1), hr.sum(dim=0)),
                        grads):
    torch.testing.assert_close(ours, theirs)

# %% [markdown]
# ## Why logarithms: ratios
#
# The paper starts from another end.
# Which words tell ice from steam?
# In a corpus of 6 billion words, it reports these shares of four words in the contexts of each:
#
# | context $j$ | solid | gas | water | fashion |
# | --- | --- | --- | --- | --- |
# | $p_1=P(j\mid\text{ice})$ | 0.00019 | 0.000066 | 0.003 | 0.000017 |
# | $p_2=P(j\mid\text{steam})$ | 0.000022 | 0.00078 | 0.0022 | 0.000018 |
# | $p_1/p_2$ | 8.9 | 0.085 | 1.36 | 0.96 |
#
# The shares depend strongly on how frequent the word is; the ratio is far from 1 for the two words that tell the pair apart, and near 1 for a word that goes with both and for one that goes with neither.
# (The ratios in the last row are the paper's, presumably computed before rounding; the shares as printed give 8.64 in the first column.)
# Ice and steam are rare in our corpus; "he" and "she" are not:

# %%
first, second = small["he"], small["she"]
P = Y / Y.sum(axis=1).clip(min=1)[:, None]  # rows sum to 1
P = P.tocsr()
ratios = {}
for word in ("himself", "his", "said", "the", "her", "herself"):
    p, q = (P[center, small[word]] for center in (first, second))
    ratios[word] = p / q if q > 0 else float("nan")
    print(f"{word:8} {p:.5f} {q:.5f}  ratio {ratios[word]:7.3f}")
if measured:
    assert ratios["himself"] > 10 and ratios["herself"] < 0.01
    assert 0.7 < ratios["said"] < 1.4 and 0.7 < ratios["the"] < 1.4

# %% [markdown]
# "himself" and "herself" tell the two words apart; for "said" and "the" the ratio is near 1.
# Demand now that the difference of two center vectors tells the ratio, through a dot product with the context vector and some function $f$ of one number:
#
# $$f\bigl((\mathbf v_i-\mathbf v_k)^\top\mathbf u_j\bigr)\approx\frac{p_{ij}}{p_{kj}}. \tag{15.5.4}$$
#
# If each probability is this same function of its own dot product, $p_{ij}\approx f(\mathbf u_j^\top\mathbf v_i)$, then with $a=\mathbf u_j^\top\mathbf v_i$ and $b=\mathbf u_j^\top\mathbf v_k$ this reads $f(a-b)=f(a)/f(b)$.
# It gives $f(0)=1$ from $a=b$, $f(-b)=1/f(b)$ from $a=0$, and then $f(a+b)=f(a)f(b)$: the exponential form of Cauchy's equation, whose only continuous solutions without zeros are $f(x)=e^{\kappa x}$.
# The vectors can absorb $\kappa\ne0$, so $\mathbf u_j^\top\mathbf v_i\approx\log p_{ij}=\log x_{ij}-\log x_i$.
# The right-hand side treats centers and contexts differently although $x_{ij}=x_{ji}$, so $\log x_i$ is replaced by a free bias $b_i$, and a second one, $c_j$, restores the symmetry: this is (15.5.2) without its weight.
#
# *Dive into Deep Learning* uses only that exchanging the two words must invert the ratio, $f(x)f(-x)=1$, and offers $f=\exp$ as one possibility.
# This weaker demand does not lead to the exponential function: $e^{x^3}$ meets it as well.

# %%
# check 15.5-C6: ratios of rounded shares, and two functional equations
p1 = torch.tensor([0.00019, 0.000066, 0.003, 0.000017], dtype=f64)
p2 = torch.tensor([0.000022, 0.00078, 0.0022, 0.000018], dtype=f64)
rounded = torch.tensor([8.64, 0.0846, 1.364, 0.944], dtype=f64)
assert ((p1 / p2) / rounded - 1).abs().max() < 1e-3
a = torch.linspace(-1.5, 1.5, 21, dtype=f64)
b = torch.tensor(0.7, dtype=f64)
for name, f in (("exp(2x)", lambda x: (2 * x).exp()),
                ("exp(x^3)", lambda x: (x**3).exp())):
    weak = (f(a) * f(-a) - 1).abs().max().item()
    strong = (f(a - b) / (f(a) / f(b)) - 1).abs().max().item()
    print(f"{name:8} f(x) f(-x) off by {weak:.0e}, "
          f"f(a - b) off by {strong:.0e}")
    assert weak < 1e-12 and (strong < 1e-12) == (name == "exp(2x)")

# %% [markdown]
# ## Training
#
# An epoch visits each stored count once, in random order, in batches, with Adagrad ([Section 12.7](../12-optimization/07-adagrad.ipynb)), which gives every parameter its own rate: the rows of some words hold hardly more than a hundred counts, and at least one row is full, with two thousand.
# The paper uses it too, with a rate of 0.05 and 50 epochs for vectors of fewer than 300 entries; we take batches of 8192 counts, a rate of 0.2 and 6 epochs.

# %% tags=["export"]
def stored_counts(X, device=None):
    """Centers, contexts (n,) and counts, float32, that a matrix stores.

    X is a square sparse matrix. Raises ValueError if it is not, stores
    nothing, or something that is not positive.
    """
    X = sparse.coo_array(X)
    if X.shape[0] != X.shape[1] or not X.nnz or not X.data.min() > 0:
        raise ValueError(f"X of shape {X.shape} stores {X.nnz} entries; a "
                         "square matrix with positive ones is needed (call "
                         "eliminate_zeros to drop stored zeros).")
    return (torch.from_numpy(X.row).to(device, torch.int64),
            torch.from_numpy(X.col).to(device, torch.int64),
            torch.from_numpy(X.data).to(device, torch.float32))


class Glove(NamedTuple):
    """Vectors U (contexts), V (centers), both (words, d), biases, losses.

    The biases `b` of centers and `c` of contexts are (words,), `losses` a
    list of the mean weighted loss of an entry during each epoch.
    """

    U: torch.Tensor
    V: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor
    losses: list

# %% tags=["export"]
def train_glove(X, d, epochs, lr=0.2, batch_size=8192, seed=0,
                device=None, report=None, x_max=100.0, alpha=0.75):
    """Fit the logarithms of the counts above 0 with Adagrad: a `Glove`.

    X is a sparse matrix (words, words) of counts, such as `cooccurrence`
    gives; d the dimension; an epoch visits each entry once, in an order
    that `seed` draws, as it does the start, uniform in (-1/2, 1/2) / d.
    The result is detached and lies on `device`, the CPU unless given;
    `report`, if given, is called with a `Glove` after each epoch.
    Errors as of `stored_counts`. Source: Pennington et al. (2014).
    """
    generator = torch.Generator().manual_seed(seed)
    i, j, x = stored_counts(X, device)
    start = torch.rand(2, X.shape[0], d + 1, generator=generator)
    start = ((start - 0.5) / d).to(device)
    params = [part.clone().requires_grad_() for part in
              (start[0, :, :d], start[1, :, :d], start[1, :, d],
               start[0, :, d])]  # U, V, b, c
    optimizer = torch.optim.Adagrad(params, lr)
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        total = torch.zeros((), device=x.device)
        for part in order.split(batch_size):
            loss = glove_loss(*params, i[part], j[part], x[part], x_max,
                              alpha)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            total += loss.detach().sum()
        losses.append(total.item() / len(x))
        if report is not None:
            report(Glove(*(part.detach().clone() for part in params),
                         list(losses)))
    return Glove(*(part.detach() for part in params), losses)

# %%
# check: a table of rank 3 plus biases is fitted by d = 3, not by d = 1
low = sparse.csr_array((0.5 * exact).exp().reshape(30, 30).numpy())
ends = {d: train_glove(low, d, 150, lr=0.3).losses for d in (1, 3)}
print({d: f"{losses[0]:.4f} to {losses[-1]:.2e}"
       for d, losses in ends.items()})
assert ends[3][-1] < 1e-3 * ends[3][0] and ends[1][-1] > 10 * ends[3][-1]

# %% tags=["hide-input"]
again = [train_glove(low, 2, 3, seed=s) for s in (0, 0, 1)]
assert torch.equal(again[0].V, again[1].V)
assert not torch.equal(again[0].V, again[2].V)
assert not again[0].V.requires_grad
seen = []
last = train_glove(low, 2, 3, report=seen.append)
assert [len(now.losses) for now in seen] == [1, 2, 3]
assert torch.equal(seen[2].V, last.V) and not torch.equal(seen[0].V, last.V)
start = train_glove(low, 2, 0)  # uniform in (-1/4, 1/4)
assert 0.22 < start.U.abs().max() < 0.25 and abs(start.V.mean()) < 0.06
still = train_glove(low, 2, 1, lr=0, batch_size=70, x_max=10, alpha=1)
loss = glove_loss(*still[:4], *stored_counts(low), 10, 1).mean()
assert abs(still.losses[0] / loss - 1) < 1e-5  # each entry once
for size, is_first in ((900, True), (30, False)):  # all, or 30 drawn ones
    way = train_glove(low, 2, 1, lr=0.1, batch_size=size).V - start.V
    length = abs(way.abs() - 0.1).max()  # Adagrad's first step has length lr
    assert length < 1e-4 if is_first else length > 0.01

# %% tags=["hide-input"]
zero = low.copy()
zero.data[3] = 0  # a stored zero, whose logarithm is not finite
for wrong in (zero, low[:5], sparse.csr_array((4, 4))):
    try:
        train_glove(wrong, 2, 1)
    except ValueError as error:
        print("ValueError:", error)
    else:
        raise AssertionError("a table without a logarithm was accepted")
try:
    glove_loss(U, V, b, c, i, j[:4], x)
    raise AssertionError("indices of different lengths were accepted")
except ValueError as error:
    assert "(4,)" in str(error)

# %% [markdown]
# The judges are people: WordSim-353 holds pairs of words rated for relatedness, SimLex-999 for similarity ([Section 15.4](04-word2vec-pretraining.ipynb)).
# `similarity_score` is the rank correlation $\rho$ of the ratings with the cosines of the vectors.
# After each epoch we measure it for $\mathbf u+\mathbf v$, the sum of both vectors of a word.
# By the symmetry of $X$ neither of them is the better one, and the paper's authors report that the sum usually helps a little.

# %%
judged = d2l.fetch("word-similarity").files
wordsim = judged_pairs(judged["wordsim353.tsv"])
simlex = judged_pairs(judged["simlex999.txt"])


def score(W, pairs=wordsim, vocab=small):
    """Rank correlation with the judgements, NaN for too few pairs."""
    known = vocab.token_to_idx
    covered = [pair for pair in pairs if pair[0] in known
               and pair[1] in known]
    if len(covered) < 3:
        return float("nan"), len(covered)
    return similarity_score(W, vocab, covered)


device = d2l.try_device(quiet=True) if num_gpus else None
gloves, curves = [], []
for seed in range(num_seeds):
    rhos = []
    glove = train_glove(Y, 64, num_epochs, seed=seed, device=device, report=(
        lambda now: rhos.append([score(W)[0] for W in
                                 (now.U + now.V, now.V)])))
    gloves.append(glove._replace(**{name: getattr(glove, name).cpu()
                                    for name in "UVbc"}))
    curves.append(rhos)
    print(f"seed {seed}: loss {glove.losses[0]:.4f} to "
          f"{glove.losses[-1]:.4f}, rho of u + v {rhos[-1][0]:.3f}, of v "
          f"{rhos[-1][1]:.3f}")

# %% [markdown]
# ### What was learned
#
# For comparison, suppose that all words were independent: the expected count of a pair is then $x_ix_j/S$ with $S=\sum_{ij}x_{ij}$, which the model gives with $\mathbf u=\mathbf v=\mathbf 0$, $b_i=\log x_i$ and $c_j=\log x_j-\log S$.
# The best biases without any vectors are a stronger baseline.
# For given $c_j$, the best $b_i$ is the mean of $\log x_{ij}-c_j$ with the weights $h(x_{ij})$; alternating between $b$ and $c$ finds them in a few rounds.

# %%
Y_i, Y_j, y = stored_counts(Y)  # in the order of Y.data


def mean_loss(predicted):
    """Mean weighted squared error of a table of predicted log-counts."""
    errors = predicted[Y_i, Y_j] - y.log()
    return (glove_weight(y) * errors ** 2).mean().item()


H, target = Y.copy(), Y.copy()
H.data = glove_weight(y).numpy()
target.data = H.data * y.log().numpy()
b, c = np.zeros((2, len(small)))
for _ in range(10):
    b = (target.sum(axis=1) - H @ c) / H.sum(axis=1).clip(min=1e-9)
    c = (target.sum(axis=0) - H.T @ b) / H.sum(axis=0).clip(min=1e-9)
log_row = np.log(Y.sum(axis=1).clip(min=1))
independent, biases = (mean_loss(torch.from_numpy(one[:, None] + other))
                       for one, other in
                       ((log_row, log_row - np.log(Y.sum())), (b, c)))
last = [glove.losses[-1] for glove in gloves]
print(f"loss of independent words {independent:.4f}, of biases alone "
      f"{biases:.4f}, of GloVe {min(last):.4f} to {max(last):.4f}")
assert not full or (0.4 < biases / independent < 0.5
                    and max(last) < 0.5 * biases)

# %% tags=["hide-input"]
epochs = range(1, num_epochs + 1)
_, axes = plt.subplots(1, 2, figsize=(6.8, 2.7), layout="constrained")
for glove, rhos in zip(gloves, curves):
    axes[0].plot(epochs, glove.losses, "o-", ms=4, color="C0")
    for side, name, style in ((0, "u + v", "o-"), (1, "v", "s--")):
        axes[1].plot(epochs, [pair[side] for pair in rhos], style, ms=4,
                     color=f"C{side}", label=name)
for level, name in ((independent, "independent words"),
                    (biases, "biases alone")):
    axes[0].axhline(level, color="0.4", ls="--", lw=1)
    axes[0].text(num_epochs, level + 0.02 * independent, name, ha="right",
                 fontsize=8)
axes[0].set(xlabel="epoch", ylabel="weighted squared error",
            ylim=(0, 1.15 * independent))
axes[1].set(xlabel="epoch", ylabel="$\\rho$, WordSim-353")
axes[1].legend(*[part[:2] for part in
                 axes[1].get_legend_handles_labels()])
d2l.describe(axes, """Left the loss over the epochs of three runs, whose
    curves cover each other: it falls steeply after the first epoch and
    slowly afterwards, below a dashed line for biases alone and far below
    one for independent words. Right the rank correlation over the epochs:
    in each run that of u plus v is above that of v, and higher at the end
    than after three epochs. The runs differ.""")

# %% [markdown]
# **Figure 15.5.3.** Left: mean weighted squared error during each epoch, of three runs that hardly differ. Right: agreement with people after each epoch.

# %%
# check 15.5-C8: the loss, the agreement, the biases
bias_fit = [np.corrcoef((glove.b[1:], glove.c[1:], log_row[1:]))[:2, 2]
            for glove in gloves]  # without "<unk>"
alone = np.corrcoef(b[1:], log_row[1:])[0, 1]
print("correlation of b and c with log x_i:",
      ", ".join(f"{one:.2f} and {other:.2f}" for one, other in bias_fit),
      f"; without vectors {alone:.2f}")
assert all(glove.losses[-1] < glove.losses[0] for glove in gloves)
full = full and num_epochs == 6 and num_seeds == 3
if full:
    assert max(last) < 0.023 and max(last) / min(last) < 1.02
    assert all(glove.losses[4] > 1.02 * glove.losses[5] for glove in gloves)
    assert all(rhos[5][0] > rhos[2][0] + 0.02 for rhos in curves)
    assert all(rhos[5][0] > rhos[5][1] + 0.05 for rhos in curves)
    assert 0.3 < np.min(bias_fit) and np.max(bias_fit) < 0.85 and alone > 0.95

# %% [markdown]
# Biases alone have less than half the loss of independent words, and the vectors take away more than half of the rest.
# After six epochs the loss is still falling, and in all three runs the agreement is higher than after three, although not every epoch raises it: these runs say what GloVe has reached, not what it can reach.
# Its authors trained for 50 epochs or more, on corpora of at least a billion words.
# In all three runs the sum agrees better with people than $\mathbf v$ alone.
#
# How close are the predictions?

# %% tags=["hide-input"]
glove = gloves[0]
predicted = glove.V @ glove.U.mT + glove.b[:, None] + glove.c
fitted = predicted[Y_i, Y_j]
edges = np.unique(np.geomspace(1, y.max() + 1, 22).astype(int))
middle, quantiles = [], []
for low_edge, high_edge in zip(edges, edges[1:]):
    inside = (y >= low_edge) & (y < high_edge)
    if inside.sum() >= 20:
        middle.append(y[inside].log().mean().item())
        quantiles.append(np.quantile(fitted[inside].numpy(),
                                     (0.1, 0.5, 0.9)))
low_q, mid_q, high_q = np.array(quantiles).T
_, ax = plt.subplots(figsize=(4.4, 3.2))
ax.fill_between(middle, low_q, high_q, alpha=0.3)
ax.plot(middle, mid_q, "o-", ms=4)
ax.plot(middle, middle, "k--", lw=1)
ax.set(xlabel="logarithm of the count", ylabel="predicted")
d2l.describe(ax, """Predicted over actual logarithms of counts. The median
    follows the dashed diagonal, a little above it at a count of 1 and a
    little below it at the next ones and at the largest. The band of the
    middle 80 per cent is about one unit wide at small counts and narrower
    at large ones.""")

# %% [markdown]
# **Figure 15.5.4.** Median and middle 80 % of the predictions, for counts in the same range; the diagonal is dashed. First run.

# %%
# check: the error by counts
ranges = {"1": y == 1, "2 to 9": (y > 1) & (y < 10),
          "10 to 99": (y >= 10) & (y < 100), "100 and more": y >= 100}
rmse, mean = {}, {}
for name, inside in ranges.items():
    off = (fitted - y.log())[inside]
    rmse[name], mean[name] = off.square().mean().sqrt().item(), off.mean()
    print(f"counts of {name:13} root mean square error {rmse[name]:.2f}, "
          f"mean error {mean[name]:+.2f}")
if full:
    assert list(rmse.values()) == sorted(rmse.values(), reverse=True)
    assert rmse["1"] > 1.5 * rmse["100 and more"] and mean["1"] > 0.2

# %% [markdown]
# The larger the count, the smaller the error, as the weights ask; counts of 1 are predicted too large on average.
#
# The derivation put $b_i$ where $\log x_i$ had been.
# Without vectors the best biases follow $\log x_i$ closely; with vectors the correlation is clearly weaker, and nothing in the loss holds it.
# For any vector $\mathbf a\in\mathbb{R}^d$, replacing all $\mathbf u_j$ by $\mathbf u_j-\mathbf a$ and all $b_i$ by $b_i+\mathbf a^\top\mathbf v_i$ changes no prediction; neither does adding a number to all $b_i$ and subtracting it from all $c_j$.
# The next cell changes the correlation in this way, at the same loss.
# The shift by $\mathbf a$ also changes the cosines of the sums $\mathbf u+\mathbf v$: the loss alone does not determine their agreement with people either.

# %%
a = torch.randn(64, generator=torch.Generator().manual_seed(0))
moved = glove._replace(U=glove.U - a, b=glove.b + glove.V @ a + 1,
                       c=glove.c - 1)
before, after = (mean_loss(g.V @ g.U.mT + g.b[:, None] + g.c)
                 for g in (glove, moved))
changed = np.corrcoef(moved.b[1:], log_row[1:])[0, 1]
print(f"loss {before:.5f} and {after:.5f}; correlation of b with log x_i "
      f"{bias_fit[0][0]:.2f} and {changed:.2f}")
assert abs(after / before - 1) < 1e-4
assert abs(changed - bias_fit[0][0]) > 0.1

# %% [markdown]
# ## Factorizing mutual information
#
# The pointwise mutual information of [Section 15.2](02-approximate-training.ipynb), with shares of the table for probabilities, is $\mathrm{PMI}_{ij}=\log\frac{x_{ij}S}{x_ix_j}$, so
#
# $$\log x_{ij}=\mathrm{PMI}_{ij}+\log x_i+(\log x_j-\log S). \tag{15.5.5}$$
#
# If GloVe's biases were $\log x_i$ and $\log x_j-\log S$, its vectors would fit PMI wherever $x_{ij}>0$; skip-gram with negatives from the unigram distribution fits it up to a constant if its scores are unconstrained (Levy and Goldberg, 2014).
# Both learn vectors for a matrix that can be written down.
# Its entries for pairs that never met are $-\infty$; cut off at 0 they become a sparse matrix, the *positive PMI* (PPMI):
#
# $$M_{ij}=\max\left(\log\frac{x_{ij}}{x_i\,P_\beta(j)}-s,\ 0\right),\qquad P_\beta(j)=\frac{x_j^\beta}{\sum_kx_k^\beta}. \tag{15.5.6}$$
#
# With $\beta=1$ and $s=0$ this is plain PPMI; $s=\log K$ is the shift of $K$ negatives, and $\beta=0.75$ the flattened noise law, which lowers the values of rare contexts (Levy, Goldberg and Dagan, 2015).
# For $x_{ij}=8$, $x_i=100$, $x_j=200$ and $S=10\,000$, PMI is $\log4=1.39$; with the shift of $K=5$ the entry becomes 0.

# %% tags=["export"]
def ppmi(X, shift=0.0, power=1.0):
    """Positive pointwise mutual information of counts, shifted.

    Parameters
    ----------
    X : sparse matrix of shape (n, m)
        Counts of centers (rows) and contexts (columns), not negative.
    shift : float
        In nats, subtracted before negative values become 0; log k for the
        shift of k negatives.
    power : float
        The exponent of the law of the contexts, 0.75 for that of word2vec's
        noise.

    Returns
    -------
    scipy.sparse.csr_array of shape (n, m)
        Its positive entries in nats; 0 for all other pairs.

    Raises
    ------
    ValueError
        If a count is negative, or all are 0.

    Source: Levy and Goldberg (2014); Levy, Goldberg and Dagan (2015).
    """
    X = sparse.coo_array(X)
    if not X.nnz or X.data.min() < 0 or not X.sum() > 0:
        raise ValueError(f"X of shape {X.shape} must hold counts, none "
                         "negative and not all 0.")
    rows, columns = X.sum(axis=1), X.sum(axis=0) ** power
    used = X.data > 0
    i, j, x = X.row[used], X.col[used], X.data[used]
    value = np.log(x * columns.sum() / (rows[i] * columns[j])) - shift
    keep = value > 0
    return sparse.csr_array((value[keep], (i[keep], j[keep])), shape=X.shape)

# %%
# check: PPMI of the example, and against the formula on a dense table
one = sparse.csr_array(np.array([[8.0, 92], [192, 9708]]))
assert abs(ppmi(one)[0, 0] - np.log(4)) < 1e-12
assert ppmi(one, shift=np.log(5)).nnz == 0
part = shrunk[:300]  # neither square nor symmetric
for shift, power in ((0, 1), (0.7, 0.75)):
    law = part.sum(dim=0)**power
    chance = torch.outer(part.sum(dim=1), law / law.sum())
    dense = (part / chance.clamp(min=1e-9)).log()  # -inf where x is 0
    M = ppmi(part.numpy(), shift, power)
    torch.testing.assert_close(torch.from_numpy(M.toarray()),
                               (dense - shift).clamp(min=0))
    assert M.nnz == (dense > shift).sum() and (M.data > 0).all()
try:
    ppmi(-one)
    raise AssertionError("negative counts were accepted")
except ValueError as error:
    assert "negative" in str(error)

# %% [markdown]
# The best approximation of $\mathbf M$ by a matrix of rank at most $d$, in squared error, keeps the $d$ largest singular values $\sigma_1\ge\dots\ge\sigma_d$ of the singular value decomposition (SVD) $\mathbf M=\mathbf L\boldsymbol\Sigma\mathbf R^\top$ (the theorem of Eckart and Young, 1936); dropping the others is called truncation.
# Center and context vectors share them equally:
#
# $$\mathbf W=\mathbf L_d\boldsymbol\Sigma_d^{1/2},\qquad\mathbf C=\mathbf R_d\boldsymbol\Sigma_d^{1/2},\qquad\mathbf W\mathbf C^\top\approx\mathbf M. \tag{15.5.7}$$
#
# $\mathbf L_d$ and $\mathbf R_d$ are the first $d$ columns, $(|\mathcal V|,d)$ each.
# In contrast to (15.5.2), all entries weigh the same, and the zeros count as zeros.
# ARPACK, the library behind SciPy's `svds`, finds the leading vectors from products with the sparse matrix alone.

# %% tags=["export"]
def svd_vectors(M, d):
    """Vectors W (n, d) and C (m, d) with W @ C.mT near M, float32.

    M (n, m) is sparse, such as `ppmi` gives it. With the d largest singular
    values S, W is U S ** 0.5 and C the same of the right vectors, so
    W @ C.mT is the best approximation of rank d. Columns come in falling
    order of S, and the largest entry of each column of U is positive, so
    the result is always the same. Raises ValueError unless 0 < d < min(n,
    m). Source: Levy and Goldberg (2014) for the root.
    """
    if not 0 < d < min(M.shape):
        raise ValueError(f"d is {d}; a matrix of shape {M.shape} needs one "
                         f"from 1 to {min(M.shape) - 1}.")
    U, S, Vt = svds(M.astype(np.float32), k=d,
                    v0=np.ones(min(M.shape), dtype=np.float32))
    order = np.argsort(-S, kind="stable")
    U, S, Vt = U[:, order], S[order], Vt[order]
    sign = np.sign(U[np.abs(U).argmax(axis=0), np.arange(d)])
    scale = sign * np.sqrt(S)
    return (torch.from_numpy(U * scale).float(),
            torch.from_numpy(Vt.T * scale).float())

# %%
# check: the best approximation, columns in order, always the same
M = ppmi(few_X.numpy())
W, C = svd_vectors(M, 12)
L, S, Rt = torch.linalg.svd(torch.from_numpy(M.toarray()).float())
best = L[:, :12] * S[:12] @ Rt[:12]
torch.testing.assert_close(W @ C.mT, best, rtol=0, atol=1e-3)
torch.testing.assert_close(W.norm(dim=0), S[:12].sqrt(), rtol=1e-4, atol=0)
torch.testing.assert_close(C.norm(dim=0), S[:12].sqrt(), rtol=1e-4, atol=0)
assert (W.max(dim=0).values >= -W.min(dim=0).values - 1e-6).all()
assert torch.equal(svd_vectors(M, 12)[0], W)
wide = svd_vectors(M[:100], 5)
assert wide[0].shape == (100, 5) and wide[1].shape == (len(few_X), 5)
try:
    svd_vectors(M, len(few_X))
    raise AssertionError("as many columns as words were accepted")
except ValueError as error:
    assert "from 1 to" in str(error)

# %% [markdown]
# ### Judged by people
#
# All methods of a comparison are judged on the same pairs, so the errors of their scores are not independent, and the error of a difference must be found directly.
# The *bootstrap* does this: draw as many pairs with replacement, score both methods on the same draw, and see how the difference varies from draw to draw.

# %%
def compare(methods, vocab, pairs=wordsim):
    """Score and lead of the first of several tables of word vectors.

    Returns the number of covered pairs and, for each method, its rank
    correlation, the lead of the first method over it, and the standard
    error of this lead by drawing pairs with replacement.
    """
    pairs = [pair for pair in pairs if pair[0] in vocab.token_to_idx
             and pair[1] in vocab.token_to_idx]
    if len(pairs) < 20:
        return len(pairs), {name: (float("nan"),) * 3 for name in methods}
    first, second, ratings = zip(*pairs)
    ratings = np.array(ratings)
    i, j, cosines = vocab[list(first)], vocab[list(second)], {}
    for name, W in methods.items():  # tensors or sparse arrays
        one, other = W[i], W[j]
        norms = (one * one).sum(axis=1) * (other * other).sum(axis=1)
        cosines[name] = np.asarray((one * other).sum(axis=1)
                                   / norms.clip(min=1e-12) ** 0.5)
    rng = np.random.default_rng(0)
    draws = rng.integers(len(pairs), size=(resamples, len(pairs)))
    rho = {name: np.array([spearmanr(values[k], ratings[k]).statistic
                           for k in [np.arange(len(pairs)), *draws]])
           for name, values in cosines.items()}
    best = rho[next(iter(rho))]
    return len(pairs), {
        name: (values[0], best[0] - values[0], (best - values)[1:].std())
        for name, values in rho.items()}

# %% [markdown]
# First all words of the corpus, in three versions with the same windows and counts: PPMI with $\beta=0.75$ in 64 dimensions; $\log(1+x_{ij})$, which knows neither biases nor PMI, in as many; and PPMI without any decomposition, a row of more than twelve thousand numbers for each word.

# %%
dim = min(64, num_words // 10)
M = ppmi(X, power=0.75)
methods = {"PPMI, SVD": svd_vectors(M, dim)[0],
           "PPMI, rows": M,
           "log(1 + x), SVD": svd_vectors(X.log1p(), dim)[0]}
n_all, all_words = compare(methods, vocab)
n_simlex, similar = compare(methods, vocab, simlex)
print(f"{n_all} pairs of WordSim-353, {n_simlex} of SimLex-999")
for name, (rho, lead, error) in all_words.items():
    print(f"{name:15} {rho:.3f}, behind by {lead:.3f} ± {error:.3f}; "
          f"SimLex-999 {similar[name][0]:.3f}")

# %% [markdown]
# Now the 2000 words that GloVe was fitted to, with the same windows and 64 dimensions, and also PPMI with $\beta=1$.
# The control is that of [Section 15.4](04-word2vec-pretraining.ipynb): all words of the corpus in random order, so every word keeps its count, every sentence its length, and only the neighbours change.

# %%
def small_svd(table, power=0.75):
    """Vectors of the words of `small` from their part of a table."""
    part = table[kept.numpy()][:, kept.numpy()]
    return svd_vectors(ppmi(part, power=power), dim)[0]


mixed = cooccurrence(shuffled(ids, torch.Generator().manual_seed(0)),
                     sentence_ids, 5, num_words=len(vocab))
few = {"PPMI, SVD": small_svd(X),
       "PPMI, power 1, SVD": small_svd(X, power=1),
       "PPMI, rows": ppmi(Y, power=0.75),
       "log(1 + x), SVD": svd_vectors(Y.log1p(), dim)[0]}
few |= {f"GloVe, run {k + 1}": glove.U + glove.V
        for k, glove in enumerate(gloves)}
few["shuffled, PPMI, SVD"] = small_svd(mixed)
n, results = compare(few, small)
print(f"{n} pairs of WordSim-353")
for name, (rho, lead, error) in results.items():
    print(f"{name:19} {rho:6.3f}, behind by {lead:6.3f} ± {error:.3f}")

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7, 2.7), layout="constrained",
                       sharex=True)
for ax, found_n, shown in ((axes[0], n_all, all_words),
                           (axes[1], n, results)):
    names = [*shown][::-1]
    ax.barh(names, [shown[name][0] for name in names], height=0.6,
            xerr=max(found_n - 1, 1)**-0.5, capsize=3)
    ax.tick_params(axis="y", labelsize=8)
    ax.axvline(0, color="0.3", lw=1)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel=f"$\\rho$, {found_n} pairs")
axes[0].set_title("all words")
axes[1].set_title(f"{num_words} words")
d2l.describe(axes, """Bars of the rank correlation with error bars. Left,
    all words: the decomposition of PPMI about 0.5, its rows below 0.4, the
    decomposition of log of 1 plus x below 0.3. Right, 2000 words, in the
    same order from 0.6 to 0.45, PPMI with power 1 as high as the first;
    the three runs of GloVe below 0.4, shuffled words near 0.""")

# %% [markdown]
# **Figure 15.5.5.** Agreement with the pairs of WordSim-353. The error of each bar is $1/\sqrt{n-1}$, that of unrelated rankings; those of the differences are printed above and do not follow from these, because the bars of a panel share their pairs.

# %%
# check 15.5-C7: agreement with people, and its absence in the control
def in_errors(shown, name):
    """Lead of the first method, in its standard errors."""
    return shown[name][1] / shown[name][2]


if full:
    assert all_words["PPMI, SVD"][0] > 0.42 and n_all > 250
    assert results["PPMI, SVD"][0] > 0.5
    assert abs(score(few["PPMI, SVD"])[0] - results["PPMI, SVD"][0]) < 1e-3
    assert 3.5 < in_errors(all_words, "log(1 + x), SVD") < 6
    assert 2 < in_errors(results, "log(1 + x), SVD") < 3.5
    assert 2 < in_errors(all_words, "PPMI, rows") < 4
    assert 1 < in_errors(results, "PPMI, rows") < 2
    assert abs(in_errors(results, "PPMI, power 1, SVD")) < 1
    assert all(2 < in_errors(results, f"GloVe, run {k}") < 3.5
               for k in (1, 2, 3))
    assert abs(results["shuffled, PPMI, SVD"][0]) < 1.5 * (n - 1)**-0.5
    assert all(rho < 0.2 for rho, _, _ in similar.values())

# %%
asked, lists = ("church", "music", "army", "doctor"), {}
for word in asked:
    if word in small.token_to_idx:
        for name in ("GloVe, run 1", "log(1 + x), SVD", "PPMI, SVD"):
            best, _ = nearest(few[name], small[word], 6)
            lists[word, name] = small.to_tokens(best)
            print(f"{word:7} {name:16} {' '.join(lists[word, name])}")
if full:
    assert min(asked, key=lambda word: counts[vocab[word]]) == "doctor"
    shared = {word: len({*lists[word, "GloVe, run 1"]}
                        & {*lists[word, "PPMI, SVD"]}) for word in asked}
    assert shared["army"] > 3 and shared["doctor"] == 0

# %% [markdown]
# The agreement of PPMI comes from which words stand near each other: with shuffled words, its score on the 2000 words is near 0.
#
# The decompositions of PPMI and of $\log(1+x)$ share words, counts, dimension and algorithm, and PPMI is ahead: by more than three standard errors with all words, by more than two with the 2000 most frequent ones.
# So the matrix matters: the division by the frequencies of both words, or the cut at 0, which we have not separated.
# The flattening by $\beta$ is not what pays here: with $\beta=1$ and 2000 words, the score is the same within its error.
# With all words, the 64 numbers agree with people better than the more than twelve thousand from which they were made, by more than two standard errors; with 2000 words that lead is within two errors, and so no more than a hint.
# GloVe is behind in all three runs, by more than two standard errors, but its loss is still falling and we tried few settings: this is no verdict on GloVe.
# And the agreement concerns relatedness: with SimLex-999, which is made to measure similarity and not relatedness (Hill and others, 2015), the three methods for all words stay below 0.2.
#
# For "army", GloVe's first run and PPMI share most of the six nearest words; for "doctor", the rarest of the four, none.
#
# ## Where this stands
#
# In a study with many tasks and settings, Baroni and others (2014) found that models which predict clearly beat models which count.
# Levy, Goldberg and Dagan (2015) traced much of such gains to choices that either side can make, such as $\beta$, windows, subsampling and the sum of both vectors, and saw no overall advantage of one method.
# So a comparison needs equal windows, words and dimension.
# The score of PPMI on the whole vocabulary above goes only part of the way: [Section 15.4](04-word2vec-pretraining.ipynb) judges skip-gram with 64 dimensions by the same pairs and on the same corpus, but with subsampled text and randomly shrunk windows.
# Vectors of PMI are older than skip-gram and GloVe: in a study by Bullinaria and Levy (2007), those from very small windows, compared by cosines, were consistently the best over several tasks.
#
# GloVe vectors are still being made: Carlson and others (2025) trained new ones on Wikipedia, Gigaword and a part of Dolma, and report scores for analogies and similarity comparable to those of 2014, and better ones for recognizing names in recent texts, such as news from outside the West.
# But all vectors of this section give a word one vector for all its uses; [Section 15.8](08-bert.ipynb) lets the sentence decide.

# %% [markdown]
# ## Summary
#
# - All that the skip-gram loss takes from a text are the counts $x_{ij}$; a fixed window makes them symmetric, randomly shrunk ones do not.
# - GloVe fits $\mathbf u_j^\top\mathbf v_i+b_i+c_j$ to $\log x_{ij}$ by least squares; its weight gives rare pairs less influence and leaves out those that never met.
# - For continuous $f$ the exponential function follows from $f(a-b)=f(a)/f(b)$, not from $f(x)f(-x)=1$; the loss determines neither the biases nor the cosines of the vectors.
# - Biases alone already bring more than half of GloVe's gain in loss over independent words: compare it with them, too.
# - A truncated singular value decomposition of PPMI needs no training loop, and agreed with people better than that of $\log(1+x)$ on the same words and dimension.
# - GloVe's loss was still falling after six epochs; an unfinished run is no basis for ranking methods.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.5-1
#
# Count with harmonic weights instead of flat ones.
# Does the agreement with people change by more than two standard errors of the difference?
# Use PPMI and its factors on the words that GloVe was fitted to.

# %% [markdown]
# #### Solution 15.5-1

# %%
harmonic = cooccurrence(ids, sentence_ids, 5, "harmonic", len(vocab))
_, both = compare({"flat": few["PPMI, SVD"], "harmonic": small_svd(harmonic)},
                  small)
for name, (rho, lead, error) in both.items():
    print(f"{name:8} {rho:.3f}, behind by {lead:.3f} ± {error:.3f}")
assert harmonic.nnz == X.nnz and harmonic.sum() < X.sum()
assert not full or abs(both["harmonic"][1]) < 2 * both["harmonic"][2]

# %% [markdown]
# No, the difference is less than two of its standard errors: these pairs do not tell the two weightings apart.

# %% [markdown]
# ### Exercise 15.5-2
#
# Are $b_i$ and $c_j$ equivalent?
# Show that for a symmetric table the loss stays the same if the two tables of vectors and the two biases are exchanged, and that for the counts of randomly shrunk windows it does not.

# %% [markdown]
# #### Solution 15.5-2

# %% [markdown]
# Exchanging them in (15.5.2) turns the term of $(i,j)$ into $h(x_{ij})(\mathbf v_j^\top\mathbf u_i+c_i+b_j-\log x_{ij})^2$, which is the old term of $(j,i)$ if $x_{ij}=x_{ji}$.
# The sum over all pairs is the same, so biases of centers and contexts play the same part, and any difference after training comes from the random start and the order of the entries.

# %%
def total_loss(table, U, V, b, c):
    """Sum of (15.5.2) for a dense table of counts."""
    i, j = table.nonzero(as_tuple=True)
    return glove_loss(U, V, b, c, i, j, table[i, j]).sum()


generator = torch.Generator().manual_seed(2)
U, V = torch.randn(2, len(few_X), 8, generator=generator, dtype=f64)
b, c = torch.randn(2, len(few_X), generator=generator, dtype=f64)
for name, table in (("fixed", few_X), ("shrunk", shrunk)):
    one, other = total_loss(table, U, V, b, c), total_loss(table, V, U, c, b)
    print(f"{name} windows: {one:.6f} and {other:.6f}")
    assert (abs(one / other - 1) < 1e-12) == (name == "fixed")

# %% [markdown]
# ### Exercise 15.5-3
#
# How does the share of counts that are not zero depend on the size of the vocabulary, if it holds the most frequent words?
# And how does their number?

# %% [markdown]
# #### Solution 15.5-3

# %%
ranked = counts.argsort(descending=True, stable=True).numpy()
total = int((counts > 0).sum())  # words of the corpus
sizes = [size for size in (num_words // 4, num_words // 2, num_words,
                           2 * num_words) if size < total] + [total]
filled = []
for size in sizes:
    stored = (X[ranked[:size]][:, ranked[:size]] if size < total
              else X).nnz
    filled.append(stored / size**2)
    print(f"{size:6} words: {stored:9,} counts, {filled[-1]:.1%}")
assert filled == sorted(filled, reverse=True)
if full:
    assert filled[0] > 0.7 and filled[-1] < 0.03

# %% [markdown]
# The share falls, from three quarters for 500 words to 2 % for all, although the number of stored counts grows: the table grows faster, with the square of the vocabulary.

# %% [markdown]
# ### Exercise 15.5-4
#
# How much of the squared entries of PPMI do the dot products of the vectors explain, for the 2000 words and $d$ from 1 to 64?
# Compute it from the vectors and from the singular values alone.

# %% [markdown]
# #### Solution 15.5-4

# %% [markdown]
# Columns are ordered, so the first $d$ of them are the vectors for $d$, and each has the squared length $\sigma_k$.
# The squared error of the best approximation is $\sum_{ij}M_{ij}^2-\sum_{k\le d}\sigma_k^2$.

# %%
M = ppmi(Y, power=0.75)
W, C = svd_vectors(M, dim)
dense = torch.from_numpy(M.toarray()).float()
total, explained = dense.square().sum(), []
for d in (1, 4, 16, dim):
    error = (dense - W[:, :d] @ C[:, :d].mT).square().sum() / total
    explained.append(1 - error.item())
    sigma = W[:, :d].square().sum(dim=0)
    assert abs(sigma.square().sum() / total - explained[-1]) < 1e-3
    print(f"d = {d:2}: {explained[-1]:.1%} explained")
assert explained == sorted(explained)
assert not full or 0.3 < explained[-1] < 0.37

# %% [markdown]
# With $d=64$, the dot products explain only about a third of the squared entries, yet the vectors agree with people at least as well as the rows do.
# So this agreement does not need a close approximation of the matrix.

# %% [markdown]
# ## Sources
#
# - J. Pennington, R. Socher, C. D. Manning (2014). GloVe: global vectors for word representation. EMNLP. [doi:10.3115/v1/D14-1162](https://doi.org/10.3115/v1/D14-1162): the model, the table of ice and steam.
# - O. Levy, Y. Goldberg (2014). Neural word embedding as implicit matrix factorization. [NeurIPS 27](https://papers.neurips.cc/paper/5477-neural-word-embedding-as-implicit-matrix-factorization): shifted PPMI, and its decomposition.
# - O. Levy, Y. Goldberg, I. Dagan (2015). Improving distributional similarity with lessons learned from word embeddings. Transactions of the ACL 3. [doi:10.1162/tacl_a_00134](https://doi.org/10.1162/tacl_a_00134).
# - M. Baroni, G. Dinu, G. Kruszewski (2014). Don't count, predict! A systematic comparison of context-counting vs. context-predicting semantic vectors. ACL. [doi:10.3115/v1/P14-1023](https://doi.org/10.3115/v1/P14-1023).
# - J. A. Bullinaria, J. P. Levy (2007). Extracting semantic representations from word co-occurrence statistics: a computational study. Behavior Research Methods 39. [doi:10.3758/BF03193020](https://doi.org/10.3758/BF03193020).
# - F. Hill, R. Reichart, A. Korhonen (2015). SimLex-999: evaluating semantic models with (genuine) similarity estimation. Computational Linguistics 41(4). [arXiv:1408.3456](https://arxiv.org/abs/1408.3456).
# - C. Eckart, G. Young (1936). The approximation of one matrix by another of lower rank. Psychometrika 1. [doi:10.1007/BF02288367](https://doi.org/10.1007/BF02288367).
# - R. Carlson, J. Bauer, C. D. Manning (2025). A new pair of GloVes. [arXiv:2507.18103](https://arxiv.org/abs/2507.18103).
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342).
