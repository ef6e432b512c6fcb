# ---
# jupyter:
#   d2l:
#     data: [brown, masc-tagged, wikitext-2]
#     profiles:
#       gpu: {}
#       smoke:
#         step: 20
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
# # 15.3 The dataset for pretraining word embeddings
#
# Skip-gram with negative sampling wants triples: a center word, a word that stood near it, and words that did not.
# A corpus is a list of sentences.
# Between the two lie half a dozen decisions: which words are dropped, how far a window reaches, whether it may look past a full stop, which words serve as noise.
# This section takes them one by one and measures what each does to the data that a model will see.
#
# **You will**
#
# - read a corpus of 1.7 million words whose licences you know, and thin out its frequent words;
# - lay windows over all sentences, first one pair at a time, then with a loop over the distances only, and check that the results are equal;
# - draw noise words from a law over a whole vocabulary with one random number each, and say what rejecting some of them changes;
# - serve the result as batches, padded or as pairs, drawn anew for each epoch.
#
# **Cost**: less than half a minute on a CPU, with no need for a GPU; a download of 6 MB, once.

# %%
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap
from scipy.stats import chi2

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    DataModule, add_to_class)
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import word_sentences

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
step = 1  # 20: every twentieth sentence only
seed = 0

# %% [markdown]
# ## A corpus, and who may use it
#
# A common choice is the Penn Treebank (Marcus and others, 1993): about 42 000 sentences of the Wall Street Journal for training, with rare words already replaced by `<unk>` and numbers by `N`; with `min_freq=10` the vocabulary has 6719 entries (Zhang and others, 2023).
# Copies of it are easy to find, but the licence is that of the Linguistic Data Consortium, and not everybody holds it.
# Licences get lost on the way: in an audit of more than 1800 text data sets, Longpre and others (2023) found that widely used hosting sites omitted more than 70 % of them, with error rates above 50 %.
#
# We take three corpora; for the first two, the licence is what the index of NLTK's data sets says:
#
# - Brown (Francis and Kučera, 1964): a million words of American prose printed in 1961. For non-commercial purposes; its README permits redistribution.
# - MASC (Ide and others, 2010): half a million words of later American English, spoken and written. For linguistic education, research and development, commercial development included.
# - The validation and test parts of WikiText-2 (Merity and others, 2016): articles of Wikipedia. CC BY-SA 3.0, so name the source and pass on the licence.
#
# For a product, leave Brown out: `read_corpus` takes any selection.
# It reads words in lower case and drops whatever holds anything but letters.
# Words that occur fewer than ten times are dropped as well, not replaced by a token, so words left and right of them become neighbours; all sentences end up in one long tensor of indices, with a second tensor that says which sentence each word belongs to.

# %% tags=["export"]
WORD_CORPORA = ("brown", "masc-tagged", "wikitext-2")


class Corpus(NamedTuple):
    """Words as one long tensor, without those that are not in `vocab`.

    `ids` (T,) are indices of words, int64; `sentence_ids` (T,) numbers
    of sentences, which rise; `counts` (len(vocab),) says how often each
    index occurs in `ids`, 0 for "<unk>".
    """

    ids: torch.Tensor
    sentence_ids: torch.Tensor
    vocab: Vocab
    counts: torch.Tensor


def read_corpus(*found, min_freq=10, step=1):
    """A `Corpus` of data sets that `d2l.fetch` has found.

    `found` are data sets that `word_sentences` reads, such as
    `map(d2l.fetch, WORD_CORPORA)`. Words that occur fewer than
    `min_freq` times are left out; with a `step` only each step-th
    sentence is read. Raises ValueError if nothing is left.
    """
    if not found or min_freq < 1 or step < 1:
        raise ValueError(f"{len(found)} data sets, min_freq {min_freq} and "
                         f"step {step}: each must be at least 1.")
    sentences = word_sentences(*found)[::step]
    vocab = Vocab(sentences, min_freq)
    known = vocab.token_to_idx
    kept = [[known[w] for w in line if w in known] for line in sentences]
    ids = torch.tensor([i for line in kept for i in line], dtype=torch.int64)
    if len(ids) == 0:
        raise ValueError(f"no word occurs {min_freq} times; lower min_freq.")
    sentence_ids = torch.arange(len(kept)).repeat_interleave(
        torch.tensor([len(line) for line in kept]))
    return Corpus(ids, sentence_ids, vocab,
                  torch.bincount(ids, minlength=len(vocab)))

# %%
found = [d2l.fetch(name) for name in WORD_CORPORA]
corpus = read_corpus(*found, step=step)
ids, sentence_ids, vocab, counts = corpus
freqs = counts.to(f64) / counts.sum()  # (V,) relative frequencies
measured = all(one.is_real for one in found) and step == 1
print(f"{len(ids):,} words, {(counts > 0).sum():,} distinct, in "
      f"{len(sentence_ids.unique()):,} sentences")
print(" ".join(vocab.to_tokens(ids[sentence_ids == 1])))

# %% tags=["hide-input"]
ordered = counts.sort(descending=True).values[:(counts > 0).sum()]
ranks = torch.arange(1, len(ordered) + 1)
share = ordered.cumsum(0) / len(ids)
_, axes = plt.subplots(1, 2, figsize=(6.8, 2.6))
axes[0].loglog(ranks, ordered)
axes[0].set(xlabel="rank of the word", ylabel="count")
axes[1].semilogx(ranks, 100 * share)
half = int((share < 0.5).sum())  # this many words, and half of the text
axes[1].plot([1, half + 1, half + 1], [50, 50, 0], color="C1", lw=1)
axes[1].set(xlabel="rank of the word", ylabel="share of the text (%)",
            ylim=(0, 100))
d2l.describe(axes, """Left the counts of the words over their rank, both
    axes logarithmic: a line that falls from 127 thousand to 10. Right the
    share of the text that the words up to a rank make up: the line passes
    50 per cent at a rank of about 100 and rises to 100.""")

# %% [markdown]
# **Figure 15.3.1.** Counts by rank, and the share of the text that the most frequent words make up.
# Fewer than a hundred of the 12 214 words are half of the text.

# %%
# check: what the corpus is, and what is in its tensors
assert len(ids) == len(sentence_ids) == counts.sum()
assert (sentence_ids.diff() >= 0).all() and counts[vocab.unk] == 0
assert counts[counts > 0].min() >= 10 and len(vocab) == len(counts)
wiki = read_corpus(found[2], min_freq=3, step=10)
known = wiki.vocab.token_to_idx
for s, line in enumerate(word_sentences(found[2])[::10]):
    line = [w for w in line if w in known]
    assert wiki.vocab.to_tokens(wiki.ids[wiki.sentence_ids == s]) == line
assert wiki.counts[wiki.counts > 0].min() == 3
if measured:
    assert half + 1 < 100 and vocab.to_tokens(counts.argmax()) == "the"
for wrong in ({"min_freq": 0}, {"step": 0}, {"min_freq": 10**9}):
    try:
        read_corpus(found[2], **wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        assert "min_freq" in str(error)

# %% [markdown]
# ## Thinning out the frequent words
#
# The pair (river, the) says little about rivers, because *the* can stand beside nearly any noun.
# Yet a hundred thousand pairs with *the* cost as much time as a hundred thousand pairs of other words.
# Mikolov and others (2013b) therefore drop words at random, the more frequent the more often.
# A word $w$ is discarded with the probability
#
# $$P(\text{discard}\mid w) = \max\left(1-\sqrt{\frac t{f(w)}},\ 0\right). \tag{15.3.1}$$
#
# Here $f(w)$ is the relative frequency of $w$ in the corpus and $t$ a threshold, both numbers between 0 and 1; each occurrence is decided independently.
# This is called *subsampling*.
# Words with $f(w)\le t$ are never dropped.
# Of a word above it the fraction $\sqrt{t/f}$ stays, so its frequency becomes $\sqrt{tf}$, up to a common factor: differences between frequent words shrink, but in expectation their order stays.
# With $t=10^{-4}$, a word of frequency 0.05 keeps $\sqrt{0.002}=4.5\,\%$ of its occurrences.
# The paper calls $t\approx10^{-5}$ typical and trains on a billion words and more; our corpus is hundreds of times smaller, and we take $10^{-4}$, as *Dive into Deep Learning* (Zhang and others) does.

# %% tags=["export"]
def keep_probability(freqs, t):
    """sqrt(t / f), at most 1, for relative frequencies of any shape.

    From Mikolov et al. (2013), arXiv:1310.4546. Raises ValueError unless
    t is positive.
    """
    if not t > 0:
        raise ValueError(f"t is {t}; it must be positive, such as 1e-4.")
    return (t / freqs).sqrt().clamp(max=1)


def subsample(ids, freqs, t, generator=None):
    """Which words stay: a mask (T,), drawn anew by each call.

    `ids` (T,) are indices into the relative frequencies `freqs` (V,).
    Index with the mask both words and their `sentence_ids`.
    """
    chance = torch.rand(len(ids), generator=generator)
    return chance < keep_probability(freqs, t)[ids]

# %%
# check 15.3-C1: probabilities of a discard
discard = 1 - keep_probability(
    torch.tensor([0.05, 0.001, 1e-4, 1e-6], dtype=f64), 1e-4)
print(f"{discard[0]:.4f}, {discard[1]:.4f}, {discard[2]:.4f}")
assert (discard - torch.tensor([0.9553, 0.6838, 0, 0])).abs().max() < 5e-5
try:
    keep_probability(freqs, 0)
    raise AssertionError("t = 0 was accepted")
except ValueError as error:
    assert "t is 0" in str(error)

# %%
rng = torch.Generator().manual_seed(seed)
kept = subsample(ids, freqs, 1e-4, rng)  # (T,)
left = torch.bincount(ids[kept], minlength=len(vocab))
few = sentence_ids == sentence_ids[(ids == counts.argmax()) & kept][0]
print("before:", *vocab.to_tokens(ids[few]))
print("after: ", *vocab.to_tokens(ids[few & kept]))

# %%
# check 15.3-C2: words stay as often as they should
p = keep_probability(freqs, 1e-4)  # (V,)
top = counts.argsort(descending=True, stable=True)[:10]
error = (counts * p * (1 - p)).sqrt() / counts  # of a measured rate
for w in top[:4].tolist():
    print(f"{vocab.to_tokens(w):5} {counts[w]:6} times, keeps "
          f"{left[w] / counts[w]:.4f}, expected {p[w]:.4f} ± {error[w]:.4f}")
assert ((left / counts - p).abs() < 3 * error)[top].all()
z = ((left / counts - p) / error)[freqs > 1e-4]
assert abs(z.square().mean() - 1) < 5 * (2 / len(z)) ** 0.5  # chi-square
assert torch.equal(left[freqs <= 1e-4], counts[freqs <= 1e-4])
again = [subsample(ids, freqs, 1e-4, torch.Generator().manual_seed(s))
         for s in (seed, seed, seed + 1)]
assert torch.equal(again[0], kept) and torch.equal(again[1], kept)
assert not torch.equal(again[2], kept)

# %% [markdown]
# The program that the authors released follows another law: it keeps a word with the probability $\sqrt{t/f}+t/f$ (at most 1), and its default is $t=10^{-3}$.
# It drops words from $f=2.6\,t$ upwards (Exercise 15.3-3), and for the most frequent words the two nearly agree.
# When two implementations disagree, this is one place to look.

# %% tags=["hide-input"]
f = torch.logspace(-6, -1, 200, dtype=f64)
_, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
axes[0].semilogx(f, keep_probability(f, 1e-4), label="paper")
axes[0].semilogx(f, ((1e-4 / f).sqrt() + 1e-4 / f).clamp(max=1), "--",
                 label="program")
axes[0].set(xlabel="frequency f of a word", ylabel="probability to keep")
axes[0].legend()
descending = counts.argsort(descending=True, stable=True)[:len(ordered)]
axes[1].loglog(ranks, ordered, label="before")
axes[1].loglog(ranks, (counts * p)[descending], "k--", lw=1, label="expected")
shown = torch.logspace(0, torch.tensor(len(ordered) - 1.0).log10(), 60)
shown = shown.long().unique() - 1
axes[1].loglog(ranks[shown], left[descending][shown], "o", ms=3, color="C1",
               label="after")
axes[1].set(xlabel="rank of the word", ylabel="count")
axes[1].legend()
d2l.describe(axes, """Left two curves of the probability to keep a word over
    its frequency: both are 1 for rare words and fall to 0.03 at a frequency
    of 0.1; that of the program starts to fall a little later. Right the
    counts by rank before and after: the points after follow the expected
    line, which is much flatter at frequent words and joins the line before
    at a rank of about one thousand.""")

# %% [markdown]
# **Figure 15.3.2.** Left: the two laws for $t=10^{-4}$. Right: the counts of Figure 15.3.1 before and after; points are measured.

# %%
common = torch.zeros(len(vocab), dtype=torch.bool)
common[descending[:100]] = True
before, after = (common[x].double().mean().item() for x in (ids, ids[kept]))
print(f"kept {kept.double().mean():.1%} of the words; the 100 most frequent "
      f"make up {before:.1%} before, {after:.1%} after")
if measured:
    assert 0.5 < before < 0.51 and 0.12 < after < 0.14

# %% tags=["hide-input"]
lengths = [torch.bincount(s, minlength=int(sentence_ids[-1]) + 1)
           for s in (sentence_ids, sentence_ids[kept])]
_, ax = plt.subplots(figsize=(5.6, 2.5))
ax.hist(lengths, bins=range(0, 61, 3), label=["before", "after"],
        color=["#0072B2", "#E69F00"])
ax.grid(axis="x", visible=False)
ax.set(xlabel="words in a sentence", ylabel="sentences")
ax.legend()
d2l.describe(ax, """Two histograms of the lengths of sentences. Before
    subsampling they spread from 1 to 50 words with a mean of 16; after it
    most have fewer than 15 words, with a mean of 7.""")
means = [n.double().mean().item() for n in lengths]
short = [(n < 2).double().mean().item() for n in lengths]
assert abs(means[1] / means[0] - kept.double().mean()) < 1e-9
assert not measured or 15 < means[0] < 16.5 and 6.8 < means[1] < 7.8
assert not measured or short[0] < 0.06 and 0.08 < short[1] < 0.12

# %% [markdown]
# **Figure 15.3.3.** Lengths of sentences before and after.
# The mean falls from about 16 words to 7, and a tenth of the sentences is left with one word or none: no windows, no pairs.

# %% [markdown]
# ## Windows
#
# A window of radius $r$ around a center holds the words at distances 1 to $r$ on both sides, as far as the sentence goes.
# Written down, it is two nested loops:

# %%
def loop_pairs(sentence_ids, radii):
    """Positions of centers and contexts, one pair at a time."""
    pairs = []
    for i, radius in enumerate(radii):
        for j in range(max(i - radius, 0), i + radius + 1):
            inside = j < len(radii) and j != i
            if inside and sentence_ids[i] == sentence_ids[j]:
                pairs.append((i, j))
    return pairs


print(loop_pairs([0, 0, 0, 1], [1, 2, 1, 5]))

# %% [markdown]
# Python runs such loops slowly, and an epoch asks for millions of pairs.
# The way out is to exchange them: for one distance $d$, compare the whole tensor with itself shifted by $d$.
# Where both positions belong to the same sentence, the left word is a center for the right one if its radius is at least $d$, and the other way round.
# There remains one loop over at most $m$ distances, where $m$ is the largest radius.

# %% tags=["export"]
def window_positions(sentence_ids, radii):
    """Positions (n,), (n,) of centers and of their context words.

    `sentence_ids` (T,) must not fall; a pair never joins two sentences.
    `radii` is a number, or a tensor (T,) with one for each center. The
    pairs are sorted by distance. Raises ValueError if `sentence_ids`
    fall somewhere.
    """
    falls = (sentence_ids.diff() < 0).nonzero()
    if len(falls) > 0:
        raise ValueError(f"sentence_ids fall after position "
                         f"{falls[0].item()}; keep the order of the corpus.")
    T = len(sentence_ids)
    radii = torch.as_tensor(radii).expand(T)
    reach = min(int(radii.max()), T - 1) if T else 0
    centers, contexts = [], []
    for d in range(1, reach + 1):
        same = sentence_ids[d:] == sentence_ids[:-d]  # (T - d,)
        left = (same & (radii[:-d] >= d)).nonzero().flatten()
        right = (same & (radii[d:] >= d)).nonzero().flatten()
        centers += [left, right + d]
        contexts += [left + d, right]
    empty = torch.empty(0, dtype=torch.int64)
    return torch.cat([empty, *centers]), torch.cat([empty, *contexts])

# %%
few, some = sentence_ids[:600], torch.randint(0, 6, (600,), generator=rng)
fast = torch.stack(window_positions(few, some), dim=1).tolist()
slow = loop_pairs(few.tolist(), some.tolist())
assert [abs(i - j) for i, j in fast] == sorted(abs(i - j) for i, j in slow)
assert sorted(map(tuple, fast)) == slow and len(slow) > 1000
assert all(len(window_positions(few[:n], 5)[0]) == 0 for n in (0, 1))
try:
    window_positions(torch.tensor([0, 0, 1, 0]), 2)
    raise AssertionError("falling sentence_ids were accepted")
except ValueError as error:
    assert "position 2" in str(error)

# %% [markdown]
# Mikolov and others (2013a) expect distant words to be less related to the center, and draw its radius uniformly from $1,\dots,m$.
# This is called a *dynamic window*.
# A word at distance $d$ is inside if the radius is at least $d$, that is with the probability
#
# $$P(r\ge d) = \frac{m-d+1}m. \tag{15.3.2}$$
#
# Here $r$ is the radius and $d\le m$ a distance in words.
# In expectation each pair counts with this weight: for $m=5$ with 1, 0.8, 0.6, 0.4 and 0.2.
# The draw saves time as well, since on average it keeps $(m+1)/2$ of $m$ words on each side.

# %% tags=["export"]
def dynamic_pairs(ids, sentence_ids, m, generator=None):
    """Words (n,), (n,): centers and contexts in windows of random radius.

    The radius of each center is drawn from 1, ..., m anew by each call
    (Mikolov et al., 2013, arXiv:1301.3781). `ids` and `sentence_ids`
    (T,) are words and their sentences. Raises ValueError if m < 1.
    """
    if m < 1:
        raise ValueError(f"m is {m}; a window reaches at least 1 word.")
    radii = torch.randint(1, m + 1, ids.shape, generator=generator)
    centers, contexts = window_positions(sentence_ids, radii)
    return ids[centers], ids[contexts]

# %%
# check 15.3-C3: sentences 0..6 and 7..9, contexts never mix
words, lines = torch.arange(10), torch.tensor([0] * 7 + [1] * 3)
i, j = window_positions(lines, 2)
assert ((i <= 6) == (j <= 6)).all() and (i != j).all()
assert len(i) == 22 + 6 and len({*zip(i.tolist(), j.tolist())}) == 28
assert j[i == 7].sort().values.tolist() == [8, 9]
assert j[i == 4].sort().values.tolist() == [2, 3, 5, 6]
seen = [dynamic_pairs(words, lines, 2, rng) for _ in range(50)]
assert all(((a <= 6) == (b <= 6)).all() for a, b in seen)
assert len({len(a) for a, _ in seen}) > 1  # the radii are drawn anew
(a, b), again = (dynamic_pairs(torch.arange(99), torch.zeros(99), 4,
                               torch.Generator().manual_seed(seed))
                 for _ in range(2))
assert torch.equal(a, again[0]) and torch.equal(b, again[1])
sides = torch.zeros(99, dtype=torch.int64).index_add(0, a, (b - a).sign())
assert (sides[4:-4] == 0).all()  # as many on the left as on the right
try:
    dynamic_pairs(words, lines, 0)
    raise AssertionError("m = 0 was accepted")
except ValueError as error:
    assert "m is 0" in str(error)

# %%
# check 15.3-C4: a dynamic window weights the distances
m, T = 5, 200_000
places, lines = torch.arange(T), torch.zeros(T, dtype=torch.int64)
a, b = dynamic_pairs(places, lines, m, rng)
distances = torch.arange(1, m + 1)
weights = torch.bincount((a - b).abs())[1:] / (2 * (T - distances))
expected = (m - distances + 1) / m
print(weights)
assert len(weights) == m and (weights - expected).abs().max() < 0.01

# %% [markdown]
# ### What the dropped words do to a window
#
# We laid the windows *after* dropping words.
# So a window of radius 5 reaches further in the sentence as it was before subsampling, over the gaps.
# Levy, Goldberg and Dagan (2015) call this *dirty* subsampling, and *clean* the other order: lay the windows first, then remove the pairs that contain a dropped word.
# To compare the two, we drop the same words and take the same radius for each center, and measure the distance of each pair before subsampling.
# (Rare words and numbers are missing from the sentences already, so in the printed text the distances are larger still.)

# %%
def reach(laid, radii, left=None):
    """Distances of pairs before subsampling, (n,), int16.

    Windows are laid over the words of the mask `laid` (T,); then only
    the pairs of two words of the mask `left` remain.
    """
    place = laid.nonzero().flatten()
    i, j = window_positions(sentence_ids[laid], radii[laid])
    i, j = place[i], place[j]
    d = (i - j).abs().short()
    return d if left is None else d[left[i] & left[j]]


radii, everyone = torch.randint(1, 6, ids.shape, generator=rng), kept | True
distances = {"no subsampling": reach(everyone, radii),
             "clean": reach(everyone, radii, kept),
             "dirty": reach(kept, radii)}
for name, d in distances.items():
    print(f"{name:14} {len(d):9,} pairs, mean distance "
          f"{d.double().mean():.2f}, {(d > 5).double().mean():.1%} beyond 5")

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 2.6))
for shift, name in ((-0.2, "clean"), (0.2, "dirty")):
    n = torch.bincount(distances[name].clamp(max=16), minlength=17)[1:]
    ax.bar([x + shift for x in range(1, 17)], (n / 1000).tolist(), 0.4,
           label=name)
ax.set_xticks([1, 5, 10, 15, 16], ["1", "5", "10", "15", "+"])
ax.grid(axis="x", visible=False)
ax.set(xlabel="distance before subsampling", ylabel="thousand pairs")
ax.legend()
d2l.describe(ax, """Bars of the number of pairs by their distance in the
    sentence before subsampling. Clean pairs stop at distance 5 and fall from
    about 600 to 100 thousand. Dirty pairs start at the same height and have a
    long tail beyond distance 10.""")
mean = {name: d.double().mean().item() for name, d in distances.items()}
size = {name: len(d) for name, d in distances.items()}
if measured:
    assert 1.85 < size["dirty"] / size["clean"] < 1.95
    assert 2.2 < mean["no subsampling"] < mean["clean"] < 2.34
    assert 4.1 < mean["dirty"] < 4.4 and distances["clean"].max() == 5
    assert 0.26 < (distances["dirty"] > 5).double().mean() < 0.30
    assert size["no subsampling"] > 2.5 * size["dirty"]

# %% [markdown]
# **Figure 15.3.4.** How far apart the words of a pair were before subsampling, for the same dropped words and the same radii.
#
# The order nearly doubles the data: dirty subsampling gives 1.9 times as many pairs, at a mean distance above 4 words instead of 2.3, and more than a quarter of them are farther apart than a window laid before subsampling would reach.
# So the threshold $t$ moves the window size too, and a comparison of two values of $t$ at the same $m$ compares both.
# We take the dirty order, which is that of the released program.
#
# ### Past the end of a sentence
#
# We stop a window at the end of a sentence.
# How much does this decision exclude?

# %%
one = torch.zeros_like(sentence_ids)  # all of the corpus is one sentence
crossing = {}
for name, mask in (("all words", everyone), ("after subsampling", kept)):
    inside, free = (len(window_positions(s[mask], radii[mask])[0])
                    for s in (sentence_ids, one))
    crossing[name] = 1 - inside / free
    print(f"{name}: without the stop, {crossing[name]:.1%} of the pairs "
          "would join two sentences")
if measured:
    assert 0.13 < crossing["all words"] < 0.16
    assert 0.27 < crossing["after subsampling"] < 0.30

# %% [markdown]
# After subsampling, more than a quarter of the pairs of such windows would join two sentences.
# The stop is a convention: Lison and Kutuzov (2017), who compared kinds of windows for skip-gram on two English corpora, report a positive impact of contexts beyond the sentence.
# We keep it: the order of the sentences then does not matter, and words of different corpora never meet.

# %% [markdown]
# ## Noise words
#
# Each pair gets $K$ *negatives* or noise words, drawn from the law
#
# $$P_n(w) = \frac{c(w)^{0.75}}{\sum_{w'} c(w')^{0.75}}, \tag{15.3.3}$$
#
# where $c(w)$ is the count of $w$ before subsampling and the sum runs over the vocabulary.
# The exponent lies between that of the corpus (1) and equal chances for all words (0), and Mikolov and others (2013b) report that it was much better than both; it was found by trial.
# A word a hundred times more frequent is drawn $100^{0.75}\approx32$ times as often.
# Trial can end elsewhere with other data: where the words are items to recommend, Caselles-Dupré, Lesaint and Royo-Letelier (2018) found that tuning the noise law, the threshold $t$, the window and the number of epochs can raise performance by up to a factor of ten.

# %% tags=["export"]
def noise_weights(counts, power=0.75):
    """counts ** power (V,), float64, and 0 for words that do not occur.

    The law of negatives of Mikolov et al. (2013), arXiv:1310.4546.
    """
    weights = counts.to(torch.float64) ** power
    return torch.where(counts > 0, weights, 0.0)

# %% [markdown]
# An epoch needs more than ten million draws from a law over 12 214 words.
# The released program writes a table of $10^8$ entries in which each word takes up its share, and looks up a random entry: 400 MB, and shares are rounded.
# The *alias method* (Walker, 1974, 1977) needs two numbers for each word, and is exact but for the rounding of floating-point numbers.
# Imagine $V$ columns of height 1 and weights scaled to the sum $V$.
# A word with less than 1 fills its own column up to a *mark*, and the rest of this column is given to a single word that still has at least 1, its *alias*.
# Each step completes one column, so $V$ steps distribute everything, and no column holds more than two words.
# To draw, choose a column uniformly, and a height: below the mark it is the word of the column, above it the alias.
# One random number $u$ in $[0,1)$ gives both, as the whole and the fractional part of $uV$.

# %% tags=["export"]
class AliasSampler:
    """Draws indices in proportion to `weights` (V,), in constant time.

    After the table of V marks and aliases is made (Walker, 1977, in
    linear time as in Vose, 1991), a draw costs one random
    number, whatever V. Raises ValueError unless the weights are finite,
    not negative and not all 0.
    """

    def __init__(self, weights):
        w = torch.as_tensor(weights, dtype=torch.float64)
        if w.ndim != 1 or not (w.isfinite().all() and (w >= 0).all()
                               and w.sum() > 0):
            raise ValueError(f"weights of shape {tuple(w.shape)} must be a "
                             "row of finite numbers >= 0, one above 0.")
        level = (w / w.sum() * len(w)).tolist()
        small = [i for i, x in enumerate(level) if x < 1]
        large = [i for i, x in enumerate(level) if x >= 1]
        mark, alias = [1.0] * len(level), list(range(len(level)))
        while small and large:
            i, j = small.pop(), large[-1]
            mark[i], alias[i] = level[i], j
            level[j] -= 1 - level[i]  # what j gave to the column of i
            if level[j] < 1:
                small.append(large.pop())
        self.mark = torch.tensor(mark, dtype=torch.float64)  # (V,)
        self.alias = torch.tensor(alias)  # (V,)

    def draw(self, shape, generator=None):
        """Indices, int64, in a tensor of this shape (or number)."""
        V = len(self.mark)
        u = V * torch.rand(shape, generator=generator, dtype=torch.float64)
        column = u.long().clamp(max=V - 1)
        return torch.where(u - column < self.mark[column], column,
                           self.alias[column])

# %% tags=["hide-input"]
example = AliasSampler([1.0, 2, 3, 5, 9])
colors = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442"]
_, axes = plt.subplots(1, 2, figsize=(6.4, 2.5), sharey=True)
axes[0].bar(range(5), [0.25, 0.5, 0.75, 1.25, 2.25], color=colors, ec="k")
axes[0].axhline(1, color="k", lw=1, ls="--")
axes[0].set(xlabel="word", ylabel="weight, scaled to the mean 1")
for i in range(5):
    mark, alias = example.mark[i].item(), example.alias[i].item()
    axes[1].bar(i, mark, color=colors[i], ec="k")
    axes[1].bar(i, 1 - mark, bottom=mark, color=colors[alias], ec="k")
    axes[1].text(i, mark / 2, str(i), ha="center", va="center")
    if mark < 1:
        axes[1].text(i, (1 + mark) / 2, str(alias), ha="center", va="center")
axes[1].set(xlabel="column")
for ax in axes:
    ax.grid(axis="x", visible=False)
d2l.describe(axes, """Left five bars with the weights 0.25, 0.5, 0.75, 1.25
    and 2.25 and a line at 1. Right five columns of height 1: each holds at
    the bottom its own word and, all but column 3, above it one other.""")

# %% [markdown]
# **Figure 15.3.5.** The alias table of five words with the weights 1, 2, 3, 5 and 9.
# Every word has the same area left and right.

# %%
# check 15.3-C5: the table is exact, the draws follow the law
weights = noise_weights(counts)
law = weights / weights.sum()  # (V,)
sampler = AliasSampler(weights)
area = sampler.mark.scatter_add(0, sampler.alias, 1 - sampler.mark)
torch.testing.assert_close(area / len(vocab), law, rtol=1e-9, atol=1e-15)


def chi_square(drawn, law):
    """Squared deviations of counts from their expectations, summed."""
    n = law * len(drawn)
    observed = torch.bincount(drawn, minlength=len(law))
    return ((observed - n) ** 2 / n)[law > 0].sum().item()


V, n = int((law > 0).sum()), 100 * len(vocab)
limit = chi2.ppf(0.999, V - 1)
rivals = {"alias": sampler, "uniform": AliasSampler((counts > 0).double()),
          "power 0.7": AliasSampler(noise_weights(counts, 0.7))}
statistic = {name: chi_square(s.draw(n, rng), law) / limit
             for name, s in rivals.items()}
print({name: f"{x:.2f}" for name, x in statistic.items()})
assert statistic["alias"] < 1 < statistic["power 0.7"]
assert statistic["uniform"] > 10

# %% tags=["hide-input"]
a, b, c = (sampler.draw((3, 2), torch.Generator().manual_seed(s))
           for s in (1, 1, 2))
assert a.shape == (3, 2) and torch.equal(a, b) and not torch.equal(a, c)
assert (AliasSampler([0.0, 1, 0]).draw(99) == 1).all()
assert noise_weights(torch.tensor([0, 16]), 0).tolist() == [0, 1]
assert noise_weights(torch.tensor([0, 16])).tolist() == [0, 8]
for wrong in ([], [0.0], [2.0, -1], [2.0, float("nan")], [[1.0]]):
    try:
        AliasSampler(wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        assert "finite" in str(error)

# %% [markdown]
# ### Which words may be noise
#
# A noise word may happen to be the true context, or another word of the same window.
# The released program skips a negative that equals the word to be predicted, so the pair gets one negative fewer, and accepts all others.
# *Dive into Deep Learning* draws until no negative lies in the window.
# We make it an option: `draw_negatives` gets a list of forbidden words for each center.

# %% tags=["export"]
def draw_negatives(sampler, K, forbidden, generator=None):
    """Noise words (n, K), none of them in its row of `forbidden` (n, L).

    Forbidden draws are repeated, so the law of a row is that of `sampler`
    without these words. L may be 0; -1 fills up shorter rows. Raises
    ValueError if a row seems to forbid everything.
    """
    drawn = sampler.draw((len(forbidden), K), generator)
    for _ in range(1000):
        bad = (drawn[..., None] == forbidden[:, None]).any(dim=-1)  # (n, K)
        number = int(bad.sum())
        if number == 0:
            return drawn
        drawn[bad] = sampler.draw(number, generator)
    raise ValueError(f"{number} draws were still forbidden after 1000 "
                     "tries; forbid fewer words.")

# %%
taboo = torch.tensor([[0, 1, -1], [4, -1, -1]])
drawn = draw_negatives(example, 20_000, taboo, rng)
rates = torch.stack([row.bincount(minlength=5) for row in drawn]) / 20_000
print(rates)
allowed = torch.tensor([[0, 0, 3, 5, 9], [1, 2, 3, 5, 0]])
allowed = allowed / allowed.sum(dim=1, keepdim=True)
assert (rates - allowed).abs().max() < 0.015
assert (rates[allowed == 0] == 0).all()
assert draw_negatives(sampler, 3, taboo[:, :0], rng).shape == (2, 3)
try:
    draw_negatives(example, 1, torch.arange(5)[None], rng)
    raise AssertionError("a row without an allowed word was accepted")
except ValueError as error:
    assert "forbid fewer" in str(error)

# %% [markdown]
# ## Batches
#
# ### Padded
#
# A center has its contexts, and $K$ negatives for each of them; centers differ in the number of contexts.
# To stack them, `batchify` writes contexts and negatives of a center into one row and fills it up to the longest row of the batch.
# The *mask* is 1 for what counts, and the label is 1 for true contexts.

# %% tags=["export"]
def batchify(examples):
    """Stack examples (center, contexts, negatives), lists of indices.

    Returns centers (b, 1) and contexts_negatives (b, L), int64, then
    masks (b, L), 0 where a row is filled up, and labels (b, L), 1 for
    contexts, both float32; L is the length of the longest row. Raises
    ValueError for no example, or one without contexts.
    """
    if not examples or not all(len(contexts) for _, contexts, _ in examples):
        raise ValueError(f"{len(examples)} examples, each of which must have "
                         "a context; leave out centers without.")
    L = max(len(c) + len(n) for _, c, n in examples)
    centers = torch.tensor([[center] for center, _, _ in examples])
    words = torch.zeros(len(examples), L, dtype=torch.int64)
    masks, labels = torch.zeros(2, len(examples), L)
    for row, (_, contexts, negatives) in enumerate(examples):
        size = len(contexts) + len(negatives)
        words[row, :size] = torch.tensor([*contexts, *negatives])
        masks[row, :size] = 1
        labels[row, :len(contexts)] = 1
    return centers, words, masks, labels

# %%
# check 15.3-C6: two examples, the second is filled up
batch = batchify([(1, [2, 2], [3, 3, 3, 3]), (1, [2, 2, 2], [3, 3])])
for name, part in zip(("centers", "words", "masks", "labels"), batch):
    print(f"{name:8}", part.tolist())
centers, words, masks, labels = batch
assert centers.tolist() == [[1], [1]]
assert words.tolist() == [[2, 2, 3, 3, 3, 3], [2, 2, 2, 3, 3, 0]]
assert masks.tolist() == [[1] * 6, [1] * 5 + [0]]
assert labels.tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
assert words.dtype == centers.dtype == torch.int64
assert masks.dtype == labels.dtype == torch.float32
for wrong in ([], [(1, [], [2])]):
    try:
        batchify(wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        assert "context" in str(error)

# %% tags=["hide-input"]
near, far = window_positions(sentence_ids[kept], radii[kept])
examples = []
for n in near.unique()[40:56]:
    contexts = ids[kept][far[near == n]]
    noise = draw_negatives(sampler, 5 * len(contexts), contexts[None], rng)
    examples.append((ids[kept][n].item(), contexts.tolist(),
                     noise[0].tolist()))
centers, _, masks, labels = batchify(examples)
_, ax = plt.subplots(figsize=(6.8, 3.2))
ax.pcolormesh((masks + labels).flip(0), ec="white", lw=0.4, vmin=0, vmax=2,
              cmap=ListedColormap(["#DDDDDD", "#56B4E9", "#D55E00"]))
ax.set_yticks([x + 0.5 for x in range(16)],
              vocab.to_tokens(centers[:, 0].flip(0)), fontsize=7)
ax.grid(visible=False)
ax.set(xlabel="entry of the row")
ax.legend(handles=[plt.Rectangle((0, 0), 1, 1, fc=c) for c in
                   ("#D55E00", "#56B4E9", "#DDDDDD")], fontsize=8,
          labels=["context", "negative", "filling"], ncol=3, frameon=False,
          loc="lower center", bbox_to_anchor=(0.5, 1.0))
d2l.describe(ax, """A grid with one row for each of 16 centers. Each row
    starts with two to eight contexts, goes on with five times as many
    negatives, and is filled up to the length of the longest, 48.""")

# %% [markdown]
# **Figure 15.3.6.** A padded batch with $m=5$ and $K=5$; the centers stand at the left.
# The longest row decides how much filling all others get.

# %% [markdown]
# ### Pairs
#
# With a window of 5 and $K=5$, a row can have $10+50$ entries, and most are shorter.
# The other format takes one row for each pair: the center, its one context, $K$ negatives.
# No row is filled up, the pairs of an epoch are two tensors of positions, and negatives are drawn only when a batch is served.
# A mask of ones keeps the form of the batch, so one loss serves both formats.
#
# *Dive into Deep Learning* drops words, lays windows and draws negatives once, and repeats the result in every epoch.
# Here an epoch is drawn anew each time, as in the released program.

# %% tags=["export"]
class SkipGramData(DataModule):
    """Batches of pairs with negatives; each epoch is drawn anew.

    `corpus` is a `Corpus`, `m` the largest radius of a window, `K` the
    number of negatives, `t` the threshold of subsampling (None: keep
    all words), `power` the exponent of the law of negatives. `reject`
    says which words are no negatives: "none", the "target" (the context
    word of the pair) or the whole "window" of the center.

    A batch is (centers (b, 1), contexts_negatives (b, 1 + K), masks,
    labels (b, 1 + K)) as from `batchify`; the context comes first. All
    tensors lie on the CPU. There is no validation part.
    """

    def __init__(self, corpus, m=5, K=5, t=1e-4, batch_size=8192,
                 power=0.75, reject="target", seed=0):
        super().__init__()
        self.save_hyperparameters()
        if reject not in ("none", "target", "window"):
            raise ValueError(f"reject is {reject!r}; use 'none', 'target' "
                             "or 'window'.")
        if m < 1 or K < 1:
            raise ValueError(f"m is {m} and K is {K}; both must be at "
                             "least 1.")
        self.generator = torch.Generator().manual_seed(seed)
        self.freqs = corpus.counts.to(torch.float64) / corpus.counts.sum()
        self.sampler = AliasSampler(noise_weights(corpus.counts, power))
        self.labels = torch.eye(1 + K)[0]  # 1, 0, ..., 0

# %% tags=["export"]
class Epoch(NamedTuple):
    """The words that were kept for an epoch, and the pairs in them.

    `words` (T,) are indices, `origin` (T,) their places in the corpus,
    `centers` and `contexts` (n,) the pairs as positions in `words`.
    `windows` (T, 2 m) are the words in the window of each position,
    filled up with -1, or None.
    """

    words: torch.Tensor
    origin: torch.Tensor
    centers: torch.Tensor
    contexts: torch.Tensor
    windows: torch.Tensor | None


@add_to_class(SkipGramData)
def epoch(self):
    """Draw words and windows: an `Epoch`, whose n pairs are in order."""
    corpus, rng, m = self.corpus, self.generator, self.m
    keep = (torch.ones_like(corpus.ids, dtype=torch.bool) if self.t is None
            else subsample(corpus.ids, self.freqs, self.t, rng))
    words, windows = corpus.ids[keep], None
    radii = torch.randint(1, m + 1, words.shape, generator=rng)
    i, j = window_positions(corpus.sentence_ids[keep], radii)
    if len(i) == 0:
        raise ValueError(f"t = {self.t} leaves no pair; raise t.")
    if self.reject == "window":
        windows = words.new_full((len(words), 2 * m), -1)
        windows[i, j - i + m - (j > i).long()] = words[j]
    return Epoch(words, keep.nonzero().flatten(), i, j, windows)

# %% [markdown]
# The `Trainer` asks once for the training loader and walks through it in each epoch.
# So the loader draws its first epoch when it is made, and a new one whenever a later walk begins.

# %% tags=["export"]
class FreshBatches:
    """A loader that serves a new loader `make()` in each epoch.

    `len` gives the number of batches of the one made last; the lengths
    of epochs may differ.
    """

    def __init__(self, make):
        self.make, self.loader, self.used = make, make(), False

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        if self.used:
            self.loader = self.make()
        self.used = True
        return iter(self.loader)

# %% tags=["export"]
@add_to_class(SkipGramData)
def batch(self, epoch, i, j):
    """The batch of an epoch's pairs (b,), (b,), with new negatives."""
    contexts = epoch.words[j][:, None]  # (b, 1)
    forbidden = contexts if self.reject == "target" else contexts[:, :0]
    if self.reject == "window":
        forbidden = epoch.windows[i]
    negatives = draw_negatives(self.sampler, self.K, forbidden,
                               self.generator)  # (b, K)
    words = torch.cat([contexts, negatives], dim=1)
    labels = self.labels.expand(len(i), -1)
    return epoch.words[i][:, None], words, torch.ones_like(labels), labels


@add_to_class(SkipGramData)
def get_dataloader(self, train):
    """Shuffled batches, drawn anew in each epoch; None for validation."""
    def make():
        epoch = self.epoch()
        return d2l.BatchLoader(
            (epoch.centers, epoch.contexts), self.batch_size, shuffle=True,
            generator=self.generator,
            transform=lambda i, j: self.batch(epoch, i, j))

    return FreshBatches(make) if train else None

# %%
data = SkipGramData(corpus, seed=seed)
loader = data.train_dataloader()
centers, words, masks, labels = next(iter(loader))
print(tuple(centers.shape), tuple(words.shape), len(loader), "batches")
for row in range(4):
    print(f"{vocab.to_tokens(centers[row, 0]):>12}:",
          *vocab.to_tokens(words[row]))

# %%
# check 15.3-C7: the corpus, the words that are kept, the pairs
epoch = data.epoch()
share, expected = len(epoch.words) / len(ids), (freqs * p).nansum().item()
error = (counts * p * (1 - p)).nansum().sqrt().item() / len(ids)
pairs = len(epoch.centers)
print(f"kept {share:.4f}, expected {expected:.4f} ± {error:.4f}; "
      f"{pairs:,} pairs")
assert abs(share - expected) < 3 * error
if measured:
    assert sentence_ids[-1] + 1 == 107_801
    assert (len(ids), int((counts > 0).sum())) == (1_697_823, 12_214)
    assert len(sentence_ids.unique()) == 107_225
    assert 0.461 < expected < 0.462 and 3_335_000 < pairs < 3_370_000

# %% tags=["hide-input"]
# check: what SkipGramData promises
def as_pairs(centers, words):
    """Each pair of words as one number, sorted."""
    return (centers.flatten() * len(vocab) + words[:, 0]).sort().values


assert data.val_dataloader() is None
small = corpus._replace(ids=ids[:20_000], sentence_ids=sentence_ids[:20_000],
                        counts=counts)
walks = {}
for name, s in (("first", seed), ("same", seed), ("other", seed + 1)):
    loader = SkipGramData(small, batch_size=1000, seed=s).train_dataloader()
    lengths, batches = len(loader), list(loader)
    assert lengths == len(batches) and len(batches[0][0]) == 1000
    walks[name] = [torch.cat(parts) for parts in zip(*batches)]
    walks[name, "again"] = [torch.cat(parts) for parts in zip(*loader)]
first, second = walks["first"], walks["first", "again"]
assert all(torch.equal(x, y) for x, y in zip(first, walks["same"]))
assert all(torch.equal(x, y) for x, y in zip(second, walks["same", "again"]))
assert len(first[0]) != len(second[0])  # a new epoch
assert not torch.equal(as_pairs(*walks["other"][:2])[:99],
                       as_pairs(*first[:2])[:99])
again = SkipGramData(small, seed=seed).epoch()  # the same draw, in order
ordered_pairs = (again.words[again.centers] * len(vocab)
                 + again.words[again.contexts])
assert torch.equal(ordered_pairs.sort().values, as_pairs(*first[:2]))
shuffled = first[0].flatten() * len(vocab) + first[1][:, 0]
assert not torch.equal(shuffled, ordered_pairs)  # the order is drawn
assert (first[2] == 1).all() and (first[3].sum(1) == 1).all()
assert (first[3][:, 0] == 1).all() and first[2].shape == first[1].shape
whole = SkipGramData(small, t=None, m=1, K=2, seed=seed).epoch()
assert torch.equal(whole.words, small.ids) and whole.windows is None
assert ((whole.centers - whole.contexts).abs() == 1).all()

# %% tags=["hide-input"]
# check: an endless sentence, and equal chances for all words
flat = SkipGramData(
    small._replace(sentence_ids=torch.zeros_like(small.ids)),
    t=None, m=4, power=0)
e = flat.epoch()
sides = torch.zeros_like(small.ids).index_add(
    0, e.centers, (e.contexts - e.centers).sign())
assert (sides[4:-4] == 0).all()  # each center has a window, not half of one
area = flat.sampler.mark.scatter_add(0, flat.sampler.alias,
                                     1 - flat.sampler.mark)
assert ((area > 0) == (counts > 0)).all()  # power 0: equal chances
assert area[counts > 0].std() < 1e-9
served = data.sampler  # the default: the law of (15.3.3)
area = served.mark.scatter_add(0, served.alias, 1 - served.mark)
torch.testing.assert_close(area / len(vocab), law)
lines = small.sentence_ids[again.origin]
assert (lines[again.centers] == lines[again.contexts]).all()

# %% tags=["hide-input"]
# check: rejection, and bad arguments
held = {}
for reject in ("none", "target", "window"):
    strict = SkipGramData(small, reject=reject, seed=seed)
    e = strict.epoch()
    order = torch.arange(len(e.centers))
    _, words, _, _ = strict.batch(e, e.centers, e.contexts)
    negatives = words[:, 1:]
    held[reject] = [(negatives == words[:, :1]).sum().item(), 0]
    for d in range(-5, 6):  # the whole window, found in another way
        other = (e.centers + d).clamp(0, len(e.words) - 1)
        pair = e.centers * len(e.words) + other
        inside = torch.isin(pair, e.centers * len(e.words) + e.contexts)
        hit = (negatives == e.words[other][:, None]) & inside[:, None]
        held[reject][1] += hit.sum().item()
print("negatives that are the target, and in the window:", held)
assert held["none"][0] > 0 < held["target"][1] and held["target"][0] == 0
assert held["window"] == [0, 0]
for wrong in ({"reject": "all"}, {"m": 0}, {"K": 0}):
    try:
        SkipGramData(small, **wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        assert next(iter(wrong)) in str(error)
try:
    SkipGramData(small, t=1e-20).epoch()
    raise AssertionError("an epoch without pairs was served")
except ValueError as error:
    assert "raise t" in str(error)

# %% [markdown]
# How new is a new epoch?
# We take the first 100 000 words of the corpus as centers and follow which of their pairs, as places in the text, five epochs serve:

# %%
seen, distinct, overlap = torch.empty(0, dtype=torch.int64), [], []
for _ in range(5):
    e = data.epoch()
    i, j = e.origin[e.centers], e.origin[e.contexts]
    keys = (i * len(ids) + j)[i < 100_000]
    overlap.append(torch.isin(keys, seen).double().mean().item())
    seen = torch.cat([seen, keys]).unique()
    distinct.append(len(seen))
print("distinct pairs after 1 to 5 epochs:", distinct)
print("seen before:", ", ".join(f"{x:.0%}" for x in overlap))
if measured:
    assert 2.3 < distinct[4] / distinct[0] < 2.55
    assert overlap[0] == 0 and 0.42 < overlap[1] < 0.5
    assert 0.72 < overlap[4] < 0.8

# %% [markdown]
# In the second epoch more than half of the pairs are new, in the fifth a quarter; together the five serve about 2.4 times as many different pairs as one.
# If the pairs were drawn only once, all five epochs would serve the same ones.
# Whether that improves the vectors is a question for [Section 15.4](04-word2vec-pretraining.ipynb).

# %% [markdown]
# ## What rejection changes
#
# Rejected noise words are drawn again, so a word $o$ is a negative of the center $c$ less often the more often it stands in the windows of $c$.
# Let $s$ be the share of the pairs of $c$ for which $o$ is forbidden, because it stands in the window or, if only the target is forbidden, because it is the target.
# Then $o$ is a negative of $c$ about $1-s$ times as often as without rejection; "about", because the other forbidden words give up their share as well, which is small.
# By [Section 15.2](02-approximate-training.ipynb) the optimal score of a pair is $\log P(o\mid c)-\log P_n(o)-\log K$.
# A noise law multiplied by $1-s$ for this pair raises the optimum by $-\log(1-s)$.

# %%
strict = SkipGramData(corpus, reject="window", seed=seed)
e, moved = strict.epoch(), {}
pool = e.words[e.centers]  # (n,) the center of each pair
for c, o in (("united", "states"), ("new", "york"), ("of", "the"),
             ("under", "the")):
    some = (pool == vocab[c]).nonzero().flatten()
    some = some[torch.randperm(len(some), generator=rng)[:4000]]
    for name, rows in (("window", e.windows[e.centers[some]]),
                       ("target", e.words[e.contexts[some]][:, None])):
        s = (rows == vocab[o]).any(dim=1).double().mean().item()
        if len(rows) == 0 or not 0 < s < 1:
            continue
        drawn = draw_negatives(sampler, 1_500_000 // len(rows), rows, rng)
        hits = (drawn == vocab[o]).sum().item()
        ratio = hits / (drawn.numel() * law[vocab[o]].item())
        rise = moved[c, o, name] = -torch.tensor(1 - s).log().item()
        error = ratio / hits**0.5  # standard error
        print(f"{c} {o}, {name}: s = {s:.3f}, drawn {ratio:.3f} ± {error:.3f}"
              f" times as often, optimum raised by {rise:.2f}")
        assert abs(ratio - (1 - s)) < 4 * error + 0.01
if measured:
    assert 0.28 < moved["united", "states", "window"] < 0.38
    assert 0.03 < moved["of", "the", "window"] < 0.06
    assert all(moved[c, o, "target"] < moved[c, o, "window"] / 2
               for c, o, _ in moved)

# %%
drawn = sampler.draw((len(e.centers[:200_000]), 5), rng)
some = torch.randperm(len(e.centers), generator=rng)[:len(drawn)]
rejected = {"the target": drawn == e.words[e.contexts[some]][:, None],
            "the window": (drawn[..., None]
                           == e.windows[e.centers[some]][:, None]).any(-1)}
for name, bad in rejected.items():
    print(f"draws that hit {name}: {bad.double().mean():.2%}")
if measured:
    assert 0.0005 < rejected["the target"].double().mean() < 0.001
    assert 0.003 < rejected["the window"].double().mean() < 0.005

# %% [markdown]
# With this corpus the choice concerns less than one draw in 200, and fewer than one in 1000 if only the target is forbidden.
# But it does not concern all pairs alike: forbidding the window raises the optimum of "united states" by about 0.3, and that of "of the" by about 0.04; forbidding only the target moves both by less than half as much.
# To compare trained scores with pointwise mutual information ([Section 15.2](02-approximate-training.ipynb)), draw without rejection and add $\log K+\log\frac{P_n(o)}{P(o)}$ to each, where $P(o)$ is the share of $o$ among the contexts.
#
# ## Where this stands today
#
# The language models of [Chapter 11](../11-attention-and-transformers/00-overview.md) drop no words and draw no negatives: they read subwords and pay the full softmax.
# The question behind all this remains: which examples should a model see, and how often?
# In retrieval and recommendation, negatives still come from a law, often that of the other examples in the batch, where popular items turn up more often; Yi and others (2019) correct the scores by the logarithm of that law.
# And gensim, a library for word vectors, offers the exponent of (15.3.3) as its parameter `ns_exponent`.

# %% [markdown]
# ## Summary
#
# - Licences first: of three free corpora one is for non-commercial use only, and `read_corpus` does without it if you wish.
# - Subsampling keeps 46 % of our words; the hundred most frequent shrink from half of the text to an eighth. Two laws are in use.
# - Dropping words before the windows are laid makes windows reach further: 1.9 times as many pairs as in the other order, more than a quarter of them beyond the nominal radius.
# - A loop over distances lays all windows at once; random radii weight the distance $d$ by $(m-d+1)/m$.
# - The alias method draws from a fixed law over a vocabulary of any size with one random number, exactly up to rounding.
# - Pairs need no filling, and an epoch drawn anew brings pairs that the one before did not have.

# %% [markdown]
# ## Exercises
# %% [markdown]
# ### Exercise 15.3-1
#
# With batches of a fixed size, the number of training steps grows in proportion to the number of pairs.
# Count words and pairs of an epoch without subsampling and with $t=10^{-3}$, $10^{-4}$ and $10^{-5}$.
# Why does the number of pairs fall faster than that of words?

# %% [markdown]
# #### Solution 15.3-1

# %% [markdown]
# Sentences become shorter, so more windows are cut off at their ends, and the number of contexts for each kept word falls too.
# In a single endless sentence it would be $m+1=6$ on average for every $t$; the last line shows it for $t=10^{-5}$.

# %%
amount = {}  # t: words, pairs
for t in (None, 1e-3, 1e-4, 1e-5):
    e = SkipGramData(corpus, t=t, seed=seed).epoch()
    amount[t] = len(e.words), len(e.centers)
    print(f"t = {t}: {len(e.words):9,} words, {len(e.centers):9,} pairs, "
          f"{len(e.centers) / len(e.words):.2f} for each word")
for t, finer in ((None, 1e-3), (1e-3, 1e-4), (1e-4, 1e-5)):
    (n, pairs), (fewer, rest) = amount[t], amount[finer]
    assert fewer < n and rest / pairs < fewer / n
endless = corpus._replace(sentence_ids=torch.zeros_like(sentence_ids))
e = SkipGramData(endless, t=1e-5, seed=seed).epoch()
print(f"t = 1e-05, one sentence: {len(e.centers) / len(e.words):.2f}")
assert abs(len(e.centers) / len(e.words) - 6) < 20 / len(e.words)**0.5
if measured:
    assert 2.5 < amount[None][1] / amount[1e-4][1] < 2.7

# %% [markdown]
# With $t=10^{-4}$ an epoch is 2.6 times shorter than without subsampling.

# %% [markdown]
# ### Exercise 15.3-2
#
# How many bytes do a thousand padded batches of 512 centers take, and how many the same pairs in the other format, all entries included?
# How much of the padded batches is filling?
# Estimate from the lengths of windows alone; words and centers take 8 bytes, masks and labels 4.

# %% [markdown]
# #### Solution 15.3-2

# %% [markdown]
# A center with $n$ contexts fills $n(1+K)$ entries of a row; in the format of pairs it takes $n$ rows of $1+K$ entries, and the center is repeated $n$ times.

# %%
e, K = data.epoch(), 5
size = torch.bincount(e.centers)  # contexts of each center
size = size[size > 0]
size = size[torch.randperm(len(size), generator=rng)]  # shuffled centers
size = size[:min(1000, len(size) // 512) * 512].view(-1, 512)
entries = size.amax(dim=1) * (1 + K)  # of a row, for each batch
padded = (512 * (8 + 16 * entries)).sum().item()
paired = (size.sum() * (8 + 16 * (1 + K))).item()
filling = 1 - size.sum().item() * (1 + K) / (512 * entries.sum().item())
print(f"padded {padded / 1e6:.0f} MB, {filling:.0%} of it filling; "
      f"pairs {paired / 1e6:.0f} MB, two positions each "
      f"{size.sum().item() * 16 / 1e6:.0f} MB")
real_batch = batchify([(0, [1, 1], [2] * 10), (0, [1] * 3, [2] * 15)])
real_bytes = sum(part.nbytes for part in real_batch)
assert real_bytes == 2 * (8 + 16 * 3 * (1 + K))  # as counted above
assert paired < padded
if measured:
    assert 0.52 < filling < 0.62 and 0.43 < paired / padded < 0.5
assert e.centers.nbytes + e.contexts.nbytes == 16 * len(e.centers)

# %% [markdown]
# More than half of a padded batch is filling.
# The pairs take less than half as much, although each repeats its center, and the two positions from which `SkipGramData` makes them less than a sixth of that.

# %% [markdown]
# ### Exercise 15.3-3
#
# For which $t$ is a word of frequency $f$ kept in 10 % of the cases, under the paper's law and under the program's?
# From which frequency on does the program drop words?

# %% [markdown]
# #### Solution 15.3-3

# %% [markdown]
# Let $x=t/f$.
# The paper asks $\sqrt x=0.1$, so $t=0.01f$; for *the* this is $7.5\cdot10^{-4}$.
# The program asks $\sqrt x+x=0.1$, so $\sqrt x=(\sqrt{1.4}-1)/2$ and $t=0.0084f$.
# It drops where $\sqrt x+x<1$, that is $\sqrt x<(\sqrt5-1)/2$, which means $f>2.618\,t$; the factor is the square of the golden ratio.

# %%
def program_law(freqs, t):
    """Probability to keep a word in the released program."""
    return ((t / freqs).sqrt() + t / freqs).clamp(max=1)


f = freqs.max()
paper_t, program_t = 0.01 * f, ((1.4**0.5 - 1) / 2) ** 2 * f
print(f"f = {f:.4f}: t = {paper_t:.2e} and {program_t:.2e}")
assert abs(keep_probability(f, paper_t) - 0.1) < 1e-12
assert abs(program_law(f, program_t) - 0.1) < 1e-12
assert abs(program_t / f - 0.0084) < 5e-5
edge = 1e-4 * ((1 + 5**0.5) / 2) ** 2
assert program_law(torch.tensor(edge * 0.999), 1e-4) == 1
assert program_law(torch.tensor(edge * 1.001), 1e-4) < 1
assert not measured or abs(paper_t - 7.5e-4) < 1e-5

# %% [markdown]
# ### Exercise 15.3-4
#
# What does the exponent 0.75 do to the law of negatives?
# Compute its entropy for exponents from 0 to 1, and the share of the ten most frequent words.

# %% [markdown]
# #### Solution 15.3-4

# %% [markdown]
# A smaller exponent flattens the law: its entropy rises from that of the text to $\log_2$ of the number of words.

# %%
bits = []
for power in (1, 0.75, 0.5, 0.25, 0):
    w = noise_weights(counts, power)
    w = w[w > 0] / w.sum()
    bits.append(-(w * w.log2()).sum().item())
    print(f"power {power:4}: {bits[-1]:.2f} bits, ten words take "
          f"{w.topk(10).values.sum():.1%}")
assert bits == sorted(bits)
assert abs(bits[-1] - torch.log2((counts > 0).sum().to(f64))) < 1e-9

# %% [markdown]
# This says what the exponent does, not why 0.75 is good: for that, vectors must be trained and judged.

# %% [markdown]
# ### Exercise 15.3-5
#
# Compute the expected number of pairs of an epoch from the lengths $n$ of the sentences after subsampling, and compare with a draw.
# Use that a sentence has $2(n-d)$ ordered pairs of words at distance $d<n$.

# %% [markdown]
# #### Solution 15.3-5

# %% [markdown]
# By (15.3.2) each of them is served with the probability $(m-d+1)/m$ if $d\le m$, and never otherwise, so a sentence of length $n$ is expected to give $\sum_{d=1}^{\min(m,n-1)}2(n-d)\frac{m-d+1}m$ pairs; the sum over all sentences is the answer.
# The number of pairs of one center lies between 0 and $2m$, so its variance is at most $m^2$; the radii are independent, so the standard deviation of the total is at most $m$ times the root of the number of centers.

# %%
e, m = data.epoch(), 5
n = torch.bincount(sentence_ids[e.origin]).to(f64)  # lengths
expected = sum((2 * (n - d).clamp(min=0) * (m - d + 1) / m).sum().item()
               for d in range(1, m + 1))
bound = m * len(e.words) ** 0.5  # of the standard deviation
print(f"expected {expected:,.0f}, drawn {len(e.centers):,}, standard "
      f"deviation below {bound:,.0f}")
assert abs(len(e.centers) - expected) < 3 * bound
assert not measured or 3 * bound < 0.005 * expected

# %% [markdown]
# ## Sources
#
# - T. Mikolov, K. Chen, G. Corrado, J. Dean (2013a). Efficient estimation of word representations in vector space. [arXiv:1301.3781](https://arxiv.org/abs/1301.3781): windows of random radius.
# - T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean (2013b). Distributed representations of words and phrases and their compositionality. [arXiv:1310.4546](https://arxiv.org/abs/1310.4546): subsampling, negatives, the exponent.
# - T. Mikolov and others (2013). [word2vec](https://code.google.com/archive/p/word2vec/): the released program.
# - O. Levy, Y. Goldberg, I. Dagan (2015). Improving distributional similarity with lessons learned from word embeddings. Transactions of the ACL 3. [doi:10.1162/tacl_a_00134](https://doi.org/10.1162/tacl_a_00134): dirty and clean subsampling.
# - P. Lison, A. Kutuzov (2017). Redefining context windows for word embedding models: an experimental study. [arXiv:1704.05781](https://arxiv.org/abs/1704.05781).
# - H. Caselles-Dupré, F. Lesaint, J. Royo-Letelier (2018). Word2vec applied to recommendation: hyperparameters matter. [arXiv:1804.04212](https://arxiv.org/abs/1804.04212).
# - A. J. Walker (1974). New fast method for generating discrete random numbers with arbitrary frequency distributions. Electronics Letters 10(8). [doi:10.1049/el:19740097](https://doi.org/10.1049/el:19740097).
# - A. J. Walker (1977). An efficient method for generating discrete random variables with general distributions. ACM Transactions on Mathematical Software 3(3). [doi:10.1145/355744.355749](https://doi.org/10.1145/355744.355749).
# - M. D. Vose (1991). A linear algorithm for generating random numbers with a given distribution. IEEE Transactions on Software Engineering 17(9). [doi:10.1109/32.92917](https://doi.org/10.1109/32.92917).
# - X. Yi and others (2019). Sampling-bias-corrected neural modeling for large corpus item recommendations. RecSys. [doi:10.1145/3298689.3346996](https://doi.org/10.1145/3298689.3346996).
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the padded batch, and negatives outside the window.
# - S. Longpre and others (2023). The Data Provenance Initiative: a large scale audit of dataset licensing and attribution in AI. [arXiv:2310.16787](https://arxiv.org/abs/2310.16787).
# - W. N. Francis, H. Kučera (1964). A standard corpus of present-day edited American English. Brown University: the Brown corpus, as distributed with [NLTK](https://www.nltk.org/nltk_data/).
# - N. Ide, C. Baker, C. Fellbaum, R. Passonneau (2010). The manually annotated sub-corpus: a community resource for and by the people. [ACL anthology P10-2013](https://aclanthology.org/P10-2013/): MASC.
# - S. Merity, C. Xiong, J. Bradbury, R. Socher (2016). Pointer sentinel mixture models. [arXiv:1609.07843](https://arxiv.org/abs/1609.07843): WikiText-2.
# - M. P. Marcus, B. Santorini, M. A. Marcinkiewicz (1993). Building a large annotated corpus of English: the Penn Treebank. Computational Linguistics 19(2). [ACL anthology J93-2004](https://aclanthology.org/J93-2004/).
