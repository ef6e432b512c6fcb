# ---
# jupyter:
#   d2l:
#     data: [brown, time-machine, gpt2-bpe, bert-vocab, fra-eng]
#     profiles:
#       gpu:
#         num_pairs: 1300000
#         num_lines: 8000
#       smoke:
#         num_pairs: 8192
#         num_seeds: 1
#         num_lines: 200
#         num_merges: 100
#         max_size: 200
#     rehearsal:
#       num_pairs: 0.02
#       num_lines: 0.05
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
# # 15.6 Subword embedding
#
# A table with one vector per word has nothing to say about a word that it lacks, and treats "walk", "walks" and "walked" as three strangers.
# This section goes below the word, in two ways: a word as the sum of all its character n-grams, and a text as a sequence of pieces from a learned list.
# Most language models of today read such pieces, so we also check ours against two published models: every entry of GPT-2's table, and for both models the ids of a list of hard cases.
#
# **You will**
#
# - train word vectors from n-grams, and test, against controls, what they know about words that training never saw;
# - tell the training of byte-pair encoding from its encoding, and see two popular shortcuts go wrong;
# - segment with the published tables of GPT-2 and BERT, and with a unigram language model that you train by EM;
# - compare BPE, WordPiece and the unigram model at equal vocabulary size, and English with French.
#
# **Cost**: about half a minute on a CPU, no use of a GPU; downloads of 8 MB.

# %%
import itertools
import json
import math
import random
import re
import unicodedata
from collections import Counter, defaultdict

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    BPETokenizer, apply_merges, merge)
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.recurrent_neural_networks import (
    TextData, read_text)
from d2l_helpers.texts import word_sentences
from d2l_helpers.wordpiece import WordPiece

d2l.use_style()

# %% tags=["parameters"]
num_pairs = 400_000  # of a center and a context word, for each vector table
num_seeds = 3
num_lines = 3000  # of the English and French sentences
num_merges = 1000  # of the tables learned from them
max_size = 1600  # of the vocabularies that are compared

# %% [markdown]
# ## A word as the sum of its n-grams
#
# *Morphology* is the study of how words are built: a stem such as "walk", endings such as "-ed", prefixes such as "un-".
# The vectors of [Section 15.1](01-word2vec.ipynb) ignore it.
# *FastText* (Bojanowski and others, 2017) keeps the skip-gram model and changes what the center word is: a bag of character n-grams, with `<` and `>` for its beginning and end.
# For $n=3$, "where" gives `<wh`, `whe`, `her`, `ere`, `re>`.
# The trigram `her` is not the word "her", which is `<her>`.

# %% tags=["export"]
def char_ngrams(word, lo=3, hi=6):
    """The character n-grams of a word between "<" and ">", as strings.

    Shorter ones first, from left to right, lo <= n <= hi (Bojanowski et
    al., 2017). A word too short for an n has none of that length.
    """
    if not 1 <= lo <= hi:
        raise ValueError(f"lo={lo}, hi={hi}: give 1 <= lo <= hi.")
    marked = f"<{word}>"
    return [marked[i:i + n] for n in range(lo, hi + 1)
            for i in range(len(marked) - n + 1)]

# %%
# check 15.6-C1: five trigrams; 14 n-grams of length 3 to 6
print(char_ngrams("where", 3, 3))
assert char_ngrams("where", 3, 3) == ["<wh", "whe", "her", "ere", "re>"]
assert len(char_ngrams("where")) == 14
assert len({"<where>", *char_ngrams("where")}) == 15  # with the word
assert "<her>" in char_ngrams("her") and char_ngrams("a", 4, 6) == []
try:
    char_ngrams("where", 4, 3)
    raise AssertionError("lo above hi was accepted")
except ValueError as error:
    assert "lo=4, hi=3" in str(error)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.5))
pair = "walked", "walking"
shared = set(char_ngrams(pair[0])) & set(char_ngrams(pair[1]))
for side, word in enumerate(pair):
    for n in range(3, 7):
        for i, gram in enumerate(char_ngrams(word, n, n)):
            x = 10.5 * side + i * 1.5
            color = "#E69F00" if gram in shared else "#CCCCCC"
            ax.text(x, -n, gram, family="monospace", fontsize=7,
                    ha="left", va="center", color="black",
                    bbox={"facecolor": color, "alpha": 0.6, "pad": 1.5,
                          "edgecolor": "none"})
    ax.text(10.5 * side, -2, f"<{word}>", family="monospace", va="center")
ax.text(-0.4, -2, "n", ha="right", va="center")
for n in range(3, 7):
    ax.text(-0.4, -n, str(n), ha="right", va="center")
ax.set(xlim=(-1, 21), ylim=(-6.6, -1.4))
ax.axis("off")
d2l.describe(ax, """The n-grams of walked and of walking, in one row for each
    length from 3 to 6. Shared by both, and colored, are those in the first
    part of the words: <wa, wal, alk, <wal, walk, <walk.""")
assert shared == {"<wa", "wal", "alk", "<wal", "walk", "<walk"}

# %% [markdown]
# **Figure 15.6.1.** All n-grams of two forms of "walk"; those in orange belong to both, so training one form moves the vector of the other.
#
# Let $\mathcal{G}_w$ be the n-grams of $w$ with $3\le n\le6$, and the whole word, as `<where>`.
# Each $g$ has a vector $\mathbf{z}_g\in\mathbb{R}^d$, and the vector of the word is
#
# $$\mathbf{v}_w=\sum_{g\in\mathcal{G}_w}\mathbf{z}_g. \tag{15.6.1}$$
#
# Context words keep one vector $\mathbf{u}_w\in\mathbb{R}^d$ each, and the loss is that of skip-gram.
# A word that is not in the vocabulary has no vector of its own, but its n-grams have, and (15.6.1) sums those.
#
# There are $26^6\approx3.1\cdot10^8$ strings of six letters, too many for a table.
# So the n-grams share a fixed number of rows, two million by default, by a *hash function*: a cheap function from strings to integers that spreads them evenly.
# FastText takes FNV-1a: begin with an offset, and for each byte XOR it in and multiply by a prime, modulo $2^{32}$.

# %% tags=["export"]
def fnv1a(text):
    """The 32-bit hash FNV-1a of a string in UTF-8, an int below 2**32.

    FastText's own code agrees on ASCII; it takes the bytes as signed.
    """
    value = 0x811C9DC5
    for byte in text.encode("utf-8"):
        value = (value ^ byte) * 0x01000193 % 2**32
    return value

# %%
# check 15.6-C9: the published values of FNV-1a
for text, value in (("", 0x811C9DC5), ("a", 0xE40C292C),
                    ("foobar", 0xBF9CF968)):
    assert fnv1a(text) == value

# %% [markdown]
# `nn.EmbeddingBag` looks up several rows and sums them in one step.
# In our table the known words come first, then the buckets of the n-grams.

# %% tags=["export"]
class FastText(nn.Module):
    """Word vectors that are sums over n-grams (Bojanowski et al., 2017).

    `words`, which are distinct, have a row each; `grams(word)` lists the
    n-grams, which share `buckets` rows by their hash; d numbers a row.
    """

    def __init__(self, buckets, d, words=(), grams=char_ngrams):
        super().__init__()
        if buckets < 1 or d < 1:
            raise ValueError(f"buckets={buckets}, d={d}: both need 1 or more.")
        self.buckets, self.grams = buckets, grams
        self.index = {word: i for i, word in enumerate(words)}
        self.bag = nn.EmbeddingBag(len(self.index) + buckets, d, mode="sum")
        nn.init.uniform_(self.bag.weight, -0.5 / d, 0.5 / d)

    def rows(self, words):
        """For each word of a list the numbers of its rows, an array."""
        lists = [[self.index[word]] if word in self.index else []
                 for word in words]
        bucket = {}  # each n-gram is hashed once
        for word, rows in zip(words, lists):
            for gram in self.grams(word):
                if gram not in bucket:
                    bucket[gram] = fnv1a(gram) % self.buckets
                rows.append(len(self.index) + bucket[gram])
        return [np.array(rows, dtype=np.int64) for rows in lists]

    def forward(self, rows):
        """Vectors (n, d) of n words with these rows; 0 for no row."""
        starts = np.cumsum([0, *map(len, rows)])[:-1]
        return self.bag(*d2l.to_device(
            (torch.from_numpy(np.concatenate(rows)),
             torch.from_numpy(starts)), self.bag.weight.device))

# %%
torch.manual_seed(0)
net = FastText(1000, 8, ["where", "her"])
rows = net.rows(["where", "nowhere", "her", ""])
with torch.inference_mode():
    v = net(rows)  # (4, 8)
for total, word, own in zip(v, ("where", "nowhere", "her"), ([0], [], [1])):
    picked = own + [2 + fnv1a(gram) % 1000 for gram in char_ngrams(word)]
    torch.testing.assert_close(total, net.bag.weight[picked].sum(dim=0))
print([len(each) for each in rows], tuple(v.shape))
assert len(net.bag.weight) == 1002 and v[3].abs().sum() == 0
try:
    FastText(0, 8)
    raise AssertionError("no bucket was accepted")
except ValueError as error:
    assert "buckets=0" in str(error)

# %% [markdown]
# (The paper sums; the published program divides by the number of rows, which for given rows changes the length of a word's vector, not its direction; it does so in training as well, so its rows come out different.)
#
# ### Words that training never saw
#
# From the Brown corpus (about a million words) we take 50 inflected words, such as "adjustments", out of the training text altogether.
# The rule is mechanical: a word of 15 to 60 occurrences that ends in "-s", "-ed" or "-ing" after a stem of at least four letters that itself occurs at least 30 times.
# It also takes in a few names, such as "adams".

# %%
found = d2l.fetch("brown")
real = all(d2l.fetch(name).is_real for name in (
    "brown", "time-machine", "gpt2-bpe", "bert-vocab", "fra-eng"))
full_run = num_pairs >= 400_000 and num_seeds >= 3 and num_lines >= 3000
sentences = word_sentences(found)
counts = Counter(word for sentence in sentences for word in sentence)
endings = "s", "ed", "ing"
stems = {word: word.removesuffix(end)
         for word in sorted(counts) for end in endings
         if word.endswith(end) and len(word) >= 4 + len(end)
         and 15 <= counts[word] <= 60
         and counts[word.removesuffix(end)] >= 30}
if not found.is_real:  # a text without inflections: the alphabet serves
    frequent = sorted(word for word in counts if counts[word] >= 20)
    stems = dict(zip(frequent[::9], frequent[1::9]))
num_unseen = 50
print(f"{len(counts)} distinct words; the rule finds {len(stems)}, of "
      f"which {num_unseen} are kept from training")
if real:
    assert (len(counts), len(stems)) == (40234, 705)
    assert all(word.startswith(stem) for word, stem in stems.items())

# %% [markdown]
# The pairs are made much as in [Section 15.3](03-word2vec-data.ipynb), from words with 20 or more occurrences: frequent words are thinned out, and two words at distance $m\le5$ are kept with probability $(6-m)/5$, the chance that a window shrunk at random from 5 reaches that far.
# Pairs whose center is an unseen word are put aside for the test.

# %%
def skipgram_pairs_without(unseen, rng):
    """Vocabulary, pairs (2, n) for training, pairs (2, n) of `unseen`.

    The unseen words have the indices after those of the vocabulary.
    """
    vocab = sorted((w for w in counts if counts[w] >= 20 and w not in unseen),
                   key=lambda w: (-counts[w], w))
    index = {w: i for i, w in enumerate([*vocab, *unseen])}
    places = np.array([(index[w], k) for k, s in enumerate(sentences)
                       for w in s if w in index])
    total = sum(counts[w] for w in index)
    keep = np.array([math.sqrt(1e-4 * total / counts[w]) for w in index])
    words, where = places[rng.random(len(places)) < keep[places[:, 0]]].T
    pairs = []
    for m in range(1, 6):  # at distance m with probability (6 - m) / 5
        near = np.flatnonzero((where[m:] == where[:-m])
                              & (rng.random(len(where) - m) < (6 - m) / 5))
        pairs += [[words[near], words[near + m]],
                  [words[near + m], words[near]]]
    pairs = np.concatenate(pairs, axis=1)  # (2, n)
    known = pairs < len(vocab)
    return vocab, pairs[:, known.all(axis=0)], pairs[:, ~known[0] & known[1]]

# %% [markdown]
# Training minimizes the loss of negative sampling ([Section 15.2](02-approximate-training.ipynb)) with five noise words per pair.

# %%
def train_vectors(net, rows, pairs, freqs, rng, d=32, batch=4096):
    """Fit `net` and context vectors on pairs; (U, mean loss)."""
    U = nn.Embedding(len(freqs), d)
    nn.init.zeros_(U.weight)
    optimizer = torch.optim.Adagrad([*net.parameters(), *U.parameters()],
                                    lr=0.05)
    noise = np.cumsum(freqs**0.75)
    chosen, total = rng.permutation(pairs.shape[1])[:num_pairs], 0
    for start in range(0, len(chosen), batch):
        center, context = pairs[:, chosen[start:start + batch]]
        drawn = rng.random((len(center), 5)) * noise[-1]
        seen, place = np.unique(center, return_inverse=True)
        v = net([rows[i] for i in seen])[place]  # (batch, d)
        u = U(torch.from_numpy(np.column_stack(
            (context, np.searchsorted(noise, drawn)))))  # (batch, 6, d)
        scores = (u @ v[:, :, None])[..., 0]
        loss = (F.softplus(-scores[:, 0]).sum()
                + F.softplus(scores[:, 1:]).sum()) / len(center)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(center)
    return U.weight.detach(), (total / len(chosen)).item()

# %% [markdown]
# Two questions are asked of the vector of an unseen word.
# Is there a form of the same stem among its ten nearest neighbors, by cosine?
# And does it predict the contexts of the word: how often does a true context word score higher than one that is picked at random from the contexts of all unseen words?
# The second is an area under the ROC curve, 0.5 by chance, and the frequencies of the words cannot help, since both sides come from the same pile.

# %%
def family_hits(v, vocab, unseen):
    """How many have a form of their stem among ten neighbors; those."""
    v = F.normalize(v, dim=1)
    nearest = (v[len(vocab):] @ v[:len(vocab)].T).topk(10).indices
    nearest = [[vocab[i] for i in row] for row in nearest.tolist()]
    forms = [{stems[word] + end for end in (*endings, "", "er", "ers", "ly")}
             for word in unseen]
    return sum(bool(form & set(row)) for form, row in zip(forms, nearest)
               ), nearest


def context_auc(v, U, test, seed):
    """P(true context scores higher than another one); ties count half."""
    center, context = np.tile(test, 5)  # five other words for each
    other = np.random.default_rng(seed).permutation(context)
    gap = (v[center] * (U[context] - U[other])).sum(dim=1)
    return ((gap > 0).double() + (gap == 0).double() / 2).mean().item()

# %% [markdown]
# Each question needs controls.
# "Whole words" are hashed into the same number of buckets and trained on the same pairs, so an unseen word gets a bucket that no word trained, with its random start, or another word's.
# "Untrained" n-grams keep their random start (with the trained vectors of the contexts): words that share spelling share rows even then.
# For the contexts, "exchanged" passes the vectors of the unseen words around in a ring, by 1, 2, ..., 49 places, so each gets that of another one.
# "Stem" gives each unseen word the vector of its stem, which training did see: that is no control but something to aim at.

# %%
buckets, results, exchanged = 20_000, defaultdict(list), []
for seed in range(num_seeds):
    rng = np.random.default_rng(seed)
    unseen = sorted(rng.choice(list(stems), num_unseen, False).tolist())
    vocab, pairs, test = skipgram_pairs_without(unseen, rng)
    freqs = np.array([counts[w] for w in vocab], dtype=float)
    for name, grams in (("n-grams", char_ngrams),
                        ("whole words", lambda word: [f"<{word}>"])):
        torch.manual_seed(seed)
        whole = name == "whole words"
        net = FastText(buckets, 32, () if whole else vocab, grams)
        rows = net.rows([*vocab, *unseen])
        with torch.inference_mode():
            start = net(rows)
        U, loss = train_vectors(net, rows, pairs, freqs, rng)
        with torch.inference_mode():
            v = net(rows)
        hits, nearest = family_hits(v, vocab, unseen)
        results[name].append((hits, context_auc(v, U, test, seed), loss))
        if not whole:
            results["untrained"].append((
                family_hits(start, vocab, unseen)[0],
                context_auc(start, U, test, seed), math.nan))
            known, new = v.split((len(vocab), num_unseen))
            stem = v[[vocab.index(stems[word]) for word in unseen]]
            results["stem"].append((math.nan, context_auc(
                torch.cat((known, stem)), U, test, seed), math.nan))
            exchanged.append([context_auc(
                torch.cat((known, new.roll(k, 0))), U, test, seed)
                for k in range(1, num_unseen)])
            examples = list(zip(unseen, nearest))

# %%
# check 15.6-C10: unseen words, three seeds, against controls
print(f"of {num_unseen} with a relative near by; AUC of contexts; loss")
for name, rows in results.items():
    print(f"{name:12}", "  ".join(f"{hits:3} {auc:.3f} {loss:.2f};"
                                  for hits, auc, loss in rows
                                  ).replace("nan", "  -"))
print("exchanged   ", "  ".join(f"    {min(row):.3f} to {max(row):.3f}"
                                for row in exchanged))
for *row, ring in zip(*(results[name] for name in (
        "n-grams", "whole words", "untrained", "stem")), exchanged):
    grams, words, start, stem = row
    assert not real or grams[0] > words[0] + num_unseen // 3  # any budget
    if full_run and real:
        assert grams[0] >= 41 and words[0] <= 3
        assert 32 <= start[0] < grams[0] < start[0] + 12
        assert 0.525 < grams[1] < 0.545 and grams[1] > max(ring) + 0.006
        assert max(words[1], start[1]) < 0.519 and abs(
            np.mean(ring) - 0.5) < 0.005
        assert abs(grams[1] - stem[1]) < 0.015
        assert all(2 < run[2] < 6 * math.log(2) for run in (grams, words))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7, 2.4))
for ax, part, names in (
        (axes[0], 0, ("n-grams", "untrained", "whole words")),
        (axes[1], 1, ("n-grams", "stem", "untrained", "whole words",
                      "exchanged"))):
    for y, name in enumerate(names[::-1]):
        values = np.ravel(exchanged if name == "exchanged" else
                          [row[part] for row in results[name]])
        ring = name == "exchanged"
        ax.plot(values, [y] * len(values), "o", alpha=0.2 if ring else 0.7,
                color=f"C{4 if ring else [*results].index(name)}")
    ax.set(yticks=range(len(names)), yticklabels=names[::-1],
           ylim=(-0.6, len(names) - 0.4))
axes[0].set(xlabel=f"unseen words of {num_unseen}", xlim=(-2, num_unseen + 2))
axes[1].set(xlabel="AUC of contexts")
axes[1].axvline(0.5, color="black", ls=":", lw=1)
d2l.describe(axes, """Left, how many unseen words have a relative among ten
    neighbors: most with trained n-grams, fewer with untrained ones, hardly
    any with whole words. Right, the area under the curve for contexts:
    above 0.52 for trained n-grams and for the stem; around one half for
    the untrained, for whole words and for exchanged vectors.""")

# %% [markdown]
# **Figure 15.6.2.** Left: unseen words with a form of their stem among ten neighbors. Right: how well their vectors tell their contexts; the dotted line is chance. One dot a seed; for the exchanged vectors 49.

# %%
for word, nearest in examples[::num_unseen // 4][:4]:
    print(f"{word}: {', '.join(nearest[:7])}")
if full_run and real:
    assert "adams" in stems and "particles" in dict(examples)["articles"]

# %% [markdown]
# With n-grams, more than four in five of the unseen words have a relative close by; with whole words nearly none.
# But look at the untrained vectors: about three quarters pass before any training, since sharing letters is sharing rows.
# This test measures mostly spelling, and the neighbors show it.
#
# The contexts tell what was learned.
# The effect is small, an AUC a few hundredths above one half, after 400,000 pairs that were seen once; is it there at all?
# In each of three seeds it is larger than all 49 values with exchanged vectors, so it belongs to the word and is not chance; untrained n-grams and whole words stay below 0.52.
# The vector of the stem, which training saw, does about as well.
# Letters mislead as well: among the neighbors of "articles" are "particles".

# %% [markdown]
# ## Byte-pair encoding: training is not encoding
#
# N-grams overlap, so they do not cut a text into a sequence that a model could write.
# Byte-pair encoding (BPE) cuts a word into pieces that do not overlap; [Section 11.10](../11-attention-and-transformers/10-small-gpt.ipynb) trains and applies it, and we use its `merge` and `apply_merges`.
# Its `train` counts all pairs anew for each merge.
# But a merge changes only the words that contain the pair, so we keep the counts and correct them there.
# The rule for ties and the score of a pair are left open: we will need others.

# %% tags=["export"]
def learn_merges(words, num_merges, ties="first", score=None):
    """Pairs of symbols to merge, in order: a list of tuples.

    `words` maps tuples of symbols to counts. The pair with the largest
    count goes first (Sennrich et al., 2016), or with the largest
    score(n_ab, n_a, n_b) of the counts of pair and symbols. Of equal pairs
    "first" takes the one met first in the words, "alphabet" the smallest.
    Ends early when no pair is left.
    """
    if ties not in ("first", "alphabet"):
        raise ValueError(f"ties={ties!r}: choose 'first' or 'alphabet'.")
    words, counts = list(words), list(words.values())
    pairs, alone, where, merges = Counter(), Counter(), defaultdict(set), []

    def count(i, sign):
        for pair in zip(words[i], words[i][1:]):
            pairs[pair] += sign * counts[i]
            where[pair].add(i)
            if not pairs[pair]:
                del pairs[pair]
        for symbol in words[i] if score else ():
            alone[symbol] += sign * counts[i]

    for i in range(len(words)):
        count(i, 1)
    while pairs and len(merges) < num_merges:
        values = pairs if score is None else {
            (a, b): score(n, alone[a], alone[b])
            for (a, b), n in pairs.items()}
        top = max(values.values())
        tied = {pair for pair, value in values.items() if value == top}
        merges.append(min(tied) if ties == "alphabet" else next(
            pair for word in words for pair in zip(word, word[1:])
            if pair in tied))
        for i in where.pop(merges[-1]):
            count(i, -1)
            words[i] = merge(words[i], merges[-1])
            count(i, 1)
    return merges

# %%
# check 15.6-C2: ten merges of four words, by first occurrence
four = {"fast": 4, "faster": 3, "tall": 5, "taller": 4}
marked = {(*word, "_"): n for word, n in four.items()}
merges = learn_merges(marked, 10)
print(", ".join("+".join(pair) for pair in merges))
ranks = {pair: i for i, pair in enumerate(merges)}
pieces = {word: apply_merges((*word, "_"), ranks) for word in four}
print(pieces)
assert merges == [tuple(pair.split("+")) for pair in (
    "t+a ta+l tal+l f+a fa+s fas+t e+r er+_ tall+_ fast+_").split()]
assert list(pieces.values()) == [("fast_",), ("fast", "er_"), ("tall_",),
                                 ("tall", "er_")]
first = {symbol for word in marked for symbol in word}
assert len(first | {a + b for a, b in merges}) == len(first) + 10 == 18

# %% [markdown]
# With $n$ symbols at the beginning (here seven letters and the mark) a vocabulary of $m$ entries takes $m-n$ merges, unless two of them make the same string.

# %% tags=["hide-input"]
def draw_tree(ax, symbol, x, color):
    """A symbol as a tree of merges from x on; (center, height)."""
    rank = {a + b: (i, a, b) for i, (a, b) in enumerate(merges)}
    if symbol not in rank:
        ax.text(x, -0.9, symbol, ha="center", family="monospace")
        return x, 0
    i, a, b = rank[symbol]
    left = draw_tree(ax, a, x, color)
    right = draw_tree(ax, b, x + len(a), color)
    center = (left[0] + right[0]) / 2
    for child in (left, right):
        ax.plot([child[0], child[0], center], [child[1], i + 1, i + 1],
                color=color, lw=1.5)
    ax.text(center - 0.15, i + 1.1, str(i + 1), ha="right", fontsize=8)
    return center, i + 1


fig, ax = plt.subplots(figsize=(6.4, 2.9))
x = 0
for word in four:
    for j, symbol in enumerate(pieces[word]):
        draw_tree(ax, symbol, x, f"C{j}")
        x += len(symbol)
    x += 1.5
ax.set(ylim=(-1.3, 11.2), xlim=(-0.7, x - 1.8), ylabel="merge", xticks=[],
       yticks=[0, 5, 10])
ax.grid(visible=False)
d2l.describe(ax, """Four trees whose leaves are the letters of fast, faster,
    tall and taller with the end mark. Each node carries the number of its
    merge: tall is complete after merge 3, fast after merge 6, er with the
    mark after merge 8; the marks of tall and fast join at 9 and 10.""")

# %% [markdown]
# **Figure 15.6.3.** The merges as trees. To encode a word is to grow its tree in this order of ranks, the lowest first.
#
# The merges, in their order, are the tokenizer; the list of pieces alone is not.
# *Dive into Deep Learning*, from which the four words are, takes two shortcuts.
# The first encodes by the *longest match*: the longest piece of the vocabulary that begins the word, and so on.
# The second merges by replacing text, `"a b"` by `"ab"`, in a string of symbols with blanks between, and may join parts of two symbols.

# %% tags=["export"]
def wordpiece_encode(text, vocab, mark="##", unk="[UNK]"):
    """Pieces of the words of a text, each the longest in `vocab`, a set.

    Words stand between blanks, in the letters of the vocabulary. `mark`
    stands before a piece that does not begin a word. A word that cannot be
    cut becomes `unk`, whole (Wu et al., 2016; Song et al., 2021).
    """
    pieces = []
    for word in text.split():
        start, found = 0, []
        while start < len(word):
            before = mark if start else ""
            end = next((e for e in range(len(word), start, -1)
                        if before + word[start:e] in vocab), None)
            if end is None:
                found = [unk]
                break
            found.append(before + word[start:end])
            start = end
        pieces += found
    return pieces

# %%
# check 15.6-C3: the merges replayed on new words
replay = {word: apply_merges((*word, "_"), ranks)
          for word in ("tallest", "fatter")}
print(replay)
assert replay["tallest"] == ("tall", "e", "s", "t", "_")
assert replay["fatter"] == ("fa", "t", "t", "er_")

# check 15.6-C4: the longest match differs
order = {("b", "c"): 0, ("a", "b"): 1}
by_rank = apply_merges(tuple("abc"), order)
longest = wordpiece_encode("abc", {"a", "b", "c", "bc", "ab"}, mark="")
print("abc:", by_rank, "by rank,", longest, "by longest match")
assert by_rank == ("a", "bc") and longest == ["ab", "c"]

# %%
# check 15.6-C5: merging tuples never crosses the border of a symbol
print(repr("ta b c".replace("a b", "ab")), merge(("ta", "b", "c"),
                                                 ("a", "b")))
assert merge(("ta", "b", "c"), ("a", "b")) == ("ta", "b", "c")
draw, crossed = random.Random(0), 0


def random_rules(n=6):
    """Random merges of letters and of earlier products, all different."""
    rules, known = [], list("abc")
    while len(rules) < n:
        rule = draw.choice(known), draw.choice(known)
        if rule not in rules:
            rules.append(rule)
            known.append("".join(rule))
    return rules


for _ in range(300):
    rules, word = random_rules(), tuple(draw.choices("abc", k=12))
    text = " ".join(word)
    for rule in rules:
        longer = merge(word, rule)
        assert "".join(longer) == "".join(word)
        ends = list(itertools.accumulate(map(len, longer)))
        assert set(ends) <= set(itertools.accumulate(map(len, word)))
        assert set(longer) <= {*word, "".join(rule)}
        word, text = longer, text.replace(" ".join(rule), "".join(rule))
        crossed += not set(text.split()) <= {*"abc", *map("".join, rules)}
assert crossed > 0  # replaced text holds pieces that no rule made

# %% [markdown]
# On *The Time Machine* (in lower case, letters only, the first nine tenths of the words for training) we compare with [Section 11.10](../11-attention-and-transformers/10-small-gpt.ipynb), and count tokens per word on the last tenth.
# More merges never give more tokens: with $k+1$ merges the encoder does what it does with $k$, and then perhaps joins some more.

# %%
# check 15.6-C8: equal to 11.10's merges; more merges, never more tokens
book = TextData().preprocess(read_text("time-machine")).split()
cut = int(0.9 * len(book))
train, held = Counter(book[:cut]), Counter(book[cut:])
marked = {(*word, "_"): n for word, n in train.items()}
letters = {symbol for word in marked for symbol in word}
merges = learn_merges(marked, max_size - len(letters), "alphabet")
slow = BPETokenizer().train(" ".join(book[:cut]), 20)
assert merges[:20] == slow.merges
ranks = {pair: i for i, pair in enumerate(merges)}


def tokens_per_word(cut_word):
    """Pieces that a function gives for a held-out word, on average."""
    total = sum(n * len(cut_word(word)) for word, n in held.items())
    return total / held.total()


lengths = [tokens_per_word(lambda word: apply_merges(
    (*word, "_"), {p: i for p, i in ranks.items() if i < k}))
    for k in (0, 1, 2, 10, 50, 51)]
print([round(length, 3) for length in lengths])
assert lengths == sorted(lengths, reverse=True) and len(set(lengths)) == 6
for _ in range(300):
    rules, word = random_rules(), tuple(draw.choices("abc", k=12))
    sizes = [len(apply_merges(word, {p: i for i, p in enumerate(rules[:k])}))
             for k in range(7)]
    assert sizes == sorted(sizes, reverse=True)

# %% [markdown]
# ## Bytes, and the table of GPT-2
#
# A tokenizer of characters fails at the first character that it has not met.
# *Byte-level BPE* cuts the UTF-8 code of a text into bytes and begins with all 256 values of a byte, so nothing is unknown and nothing is lost.
# Before the merges, *pre-tokenization* cuts the text into words with one blank in front, endings such as "'ll", numbers, other signs and blanks; merges stay inside.
#
# GPT-2's pattern asks for letters (`\p{L}`) and digits (`\p{N}`) by their Unicode category, which Python's `re` cannot do.
# A detour can: replace each character outside ASCII by one of its kind, match there, and cut the original at the same places.

# %% tags=["export"]
def byte_signs():
    """GPT-2's printable sign for each byte, a dict in the order of ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {
        b: chr(256 + i) for i, b in enumerate(hidden)}

# %% tags=["export"]
class ByteBPE:
    """Byte-level BPE with the pre-tokenization of GPT-2.

    `merges` are pairs of strings with one sign for each byte. Index 0 to
    255 are the bytes, then the products of the merges, then `special`
    tokens, which `encode` never gives (Radford et al., 2019).
    """

    pattern = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-zé]+| ?[0-9]+"
                         r"| ?[^\sA-Za-zé0-9]+|\s+(?!\S)|\s+")
    signs = byte_signs()

    def __init__(self, merges, special=()):
        self.ranks = {pair: i for i, pair in enumerate(merges)}
        self.vocab = [*self.signs.values(), *map("".join, merges), *special]
        self.index = {token: i for i, token in enumerate(self.vocab)}
        self.special, self.known = set(special), {}

    @classmethod
    def split(cls, text):
        """The pieces of a text that are encoded one by one."""
        plain = "".join(
            c if c.isascii() else "\t" if c.isspace() else
            {"L": "é", "N": "0"}.get(unicodedata.category(c)[0], "#")
            for c in text)
        return [text[m.start():m.end()] for m in cls.pattern.finditer(plain)]

    @classmethod
    def learn(cls, text, num_merges):
        """A tokenizer with merges learned from a text, ties by alphabet."""
        words = Counter(tuple(cls.signs[b] for b in piece.encode("utf-8"))
                        for piece in cls.split(text))
        return cls(learn_merges(words, num_merges, "alphabet"))

# %% tags=["export"]
@add_to_class(ByteBPE)
def encode(self, text):
    """A list of ids; what `special` stands for is cut up as other text."""
    ids = []
    for piece in self.split(text):
        if piece not in self.known:
            signs = tuple(self.signs[b] for b in piece.encode("utf-8"))
            self.known[piece] = [self.index[symbol] for symbol in
                                 apply_merges(signs, self.ranks)]
        ids += self.known[piece]
    return ids


@add_to_class(ByteBPE)
def decode(self, ids):
    """The bytes of ids; `.decode("utf-8")` gives text again."""
    wrong = [i for i in ids if not 0 <= i < len(self.vocab)]
    if wrong:
        raise ValueError(f"id {wrong[0]} is not from 0 to "
                         f"{len(self.vocab) - 1}.")
    number = {sign: b for b, sign in self.signs.items()}
    tokens = (self.vocab[i] for i in ids)
    return b"".join(
        token.encode("utf-8") if token in self.special
        else bytes(number[sign] for sign in token) for token in tokens)


def load_gpt2():
    """The tokenizer of GPT-2, 50,257 ids, from its published merges."""
    path = d2l.fetch("gpt2-bpe").files["gpt2-vocab.bpe"]
    lines = path.read_text(encoding="utf-8").splitlines()[1:]  # a version
    return ByteBPE([tuple(line.split()) for line in lines],
                   ["<|endoftext|>"])

# %%
# check 15.6-C11: every id of GPT-2's table; hard cases
gpt2 = load_gpt2()
path = d2l.fetch("gpt2-bpe").files["gpt2-encoder.json"]
assert gpt2.index == json.loads(path.read_text(encoding="utf-8"))
assert len(gpt2.vocab) == len(gpt2.index) == 50_257  # no product twice
assert gpt2.decode([50_256, 0]) == b"<|endoftext|>!"
assert ByteBPE([], ["<é é>"]).decode([256, 33]) == "<é é>B".encode()
assert gpt2.split("a\u00a0\u3000b") == ["a", "\u00a0", "\u3000", "b"]
assert all(gpt2.index[a + b] == 256 + k
           for k, (a, b) in enumerate(gpt2.ranks))
hard = {
    "Hello world": [15496, 995],
    "I'll say it's they've DON'T": [
        40, 1183, 910, 340, 338, 484, 1053, 23917, 6, 51],
    "  two  spaces\n\n\tand a tab ": [
        220, 734, 220, 9029, 628, 197, 392, 257, 7400, 220],
    "3.14159 + 1895 = 2²": [
        18, 13, 1415, 19707, 1343, 46425, 796, 362, 31185],
    "naïve café, Übergröße": [
        2616, 38776, 40304, 11, 49363, 527, 2164, 9101, 39683, 68],
    "e\u0301 日本語 한국어": [
        68, 136, 223, 10545, 245, 98, 17312, 105, 45739, 252, 220, 47991,
        250, 166, 113, 255, 168, 244, 112],
    "🙂👍🏽 ok": [8582, 25081, 41840, 235, 8582, 237, 121, 12876],
    "_under_score__ and-dash": [62, 4625, 62, 26675, 834, 290, 12, 42460],
    "Ⅷ ½ ٣٤ 五": [
        158, 227, 100, 25208, 18923, 96, 149, 97, 220, 49390],
    "a\u00a0b\u3000c\u2028d": [
        64, 1849, 65, 5099, 222, 66, 447, 101, 67],
    "<|endoftext|>": [27, 91, 437, 1659, 5239, 91, 29]}
for text, ids in hard.items():
    assert gpt2.decode(gpt2.encode(text)).decode() == text
    if real:
        assert gpt2.encode(text) == ids, text

# %% [markdown]
# (The ids of the hard cases, here and for BERT below, were made once with the package `tokenizers` from the same files.)
# The last line is text that looks like the mark of the end, and `encode` gives seven ordinary tokens for it: id 50,256 is for programs to add, not for users to type.
# *Chat templates* use more such tokens for "here begins what the user says".

# %% [markdown]
# A table of one's own takes a text and a number of merges.
# English and French sentences ([Section 10.5](../10-modern-rnns/05-machine-translation-data.ipynb)) are the text, the same ones in both languages; every fourth is kept for tests.

# %%
path, = d2l.fetch("fra-eng").files.values()
lines = path.read_text(encoding="utf-8").splitlines()
lines = lines[::len(lines) // num_lines][:num_lines]  # short to long
pairs = [line.split("\t")[:2] for line in lines]
learning = [pair for i, pair in enumerate(pairs) if i % 4]
testing = [[side[i] for side in pairs[::4]] for i in (0, 1)]  # (2, n)
texts = {"English": "\n".join(e for e, _ in learning),
         "French": "\n".join(f for _, f in learning),
         "half of each": "\n".join(pair[i % 2] for i, pair in
                                   enumerate(learning))}
own = {name: ByteBPE.learn(text, num_merges) for name, text in texts.items()}
print({name: (len(text), len(own[name].vocab))
       for name, text in texts.items()})

# %%
# check 15.6-C6: nothing is lost, byte for byte; BERT's vocabulary loses
path, = d2l.fetch("bert-vocab").files.values()
bert_vocab = path.read_text(encoding="utf-8").splitlines()
bert = WordPiece(bert_vocab)
odd = ["".join(chr(draw.choice((draw.randrange(0xD800),
                                draw.randrange(0xE000, 0x110000), 32, 233)))
               for _ in range(12)) for _ in range(300)]
for tokenizer in (gpt2, own["French"]):
    for text in (*odd, *testing[1], "", " ", "\r\n \t"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text.encode("utf-8")
        assert "".join(tokenizer.split(text)) == text
    one = [tokenizer.decode([i]) for i in range(256)]
    assert sorted(one) == [bytes([b]) for b in range(256)]
lost = "Hé,  you!", "he, you!"
print([bert_vocab[i] for i in bert(lost[0])])
assert bert(lost[0]) == bert(lost[1])
for wrong in (-1, len(gpt2.vocab)):
    try:
        gpt2.decode([wrong])
        raise AssertionError("an id outside the table was accepted")
    except ValueError as error:
        assert f"id {wrong} " in str(error)

# %% tags=["hide-input"]
def draw_boxes(ax, rows, width=46):
    """Rows of tokens as boxes, broken at `width` letters; the last line."""
    y = 0
    for label, tokens in rows:
        ax.text(-0.6, y, label, ha="right", va="center", fontsize=8)
        x = 0
        for i, token in enumerate(tokens):
            if x + len(token) > width:
                x, y = 0, y - 1
            ax.add_patch(plt.Rectangle(
                (x + 0.06, y - 0.38), len(token) - 0.12, 0.76,
                facecolor=f"C{i % 2}", alpha=0.3, lw=0))
            for j, letter in enumerate(token):
                ax.text(x + j + 0.5, y, letter, ha="center", va="center",
                        family="monospace", fontsize=8)
            x += len(token)
        y -= 1.3
    ax.set(xlim=(0, width), ylim=(y + 0.4, 0.7))
    ax.axis("off")

# %% tags=["hide-input"]
shown = {"English": "The unbelievable machines vanished in 802701.",
         "French": "Les machines incroyables ont été détruites."}


def draw_merges(fig, merges):
    """The two sentences with the first merges of GPT-2."""
    ranks = {p: i for p, i in gpt2.ranks.items() if i < merges}
    rows = []
    for language, text in shown.items():
        tokens = [token for piece in gpt2.split(text) for token in
                  apply_merges(tuple(gpt2.signs[b] for b in piece.encode()),
                               ranks)]
        rows.append((f"{language}\n{len(tokens)} tokens",
                     [token.replace("Ġ", "␣") for token in tokens]))
    draw_boxes(fig.subplots(), rows, 48)


d2l.sliders(draw_merges, """An English and a French sentence as boxes, one
    for each token of GPT-2. Without merges each byte is a box. With more
    merges the English boxes grow to whole words; most of the longer
    French ones stay in parts.""", figsize=(6.8, 1.3),
            merges=[0, 10, 100, 1000, 5000, 20000, 50000])

# %% [markdown]
# **Figure 15.6.4.** Two sentences after the first merges of GPT-2, as many as the slider says; the still picture has 1000. ␣ is the blank that belongs to a word; "é" is two bytes, shown by their two signs "Ã©" also after a merge has put them into one box.
#
# ## WordPiece
#
# BERT's *WordPiece* keeps only the list of pieces, marks those inside a word by `##`, and encodes by the longest match, on purpose: `wordpiece_encode` is what it does.
# So the longest match is no mistake in itself; it is another tokenizer than the one that the merges define.
# Before the match, the "uncased" variant turns capitals into small letters, drops accents, divides at spaces without keeping them, and cuts off punctuation; a word that cannot be matched to its end becomes `[UNK]`.
# For both reasons it cannot be inverted; the helper's `WordPiece` does that part, too.

# %%
# check 15.6-C11 continued: BERT's table, and hard cases
pieces = set(bert_vocab)
for word in sorted(counts)[::20]:
    if word.isascii():
        assert [bert_vocab[i] for i in bert(word)[1:-1]] == (
            wordpiece_encode(word, pieces)), word
assert wordpiece_encode("ab ca", {"a", "##b"}) == ["a", "##b", "[UNK]"]
assert wordpiece_encode("ac", {"a", "##b"}) == ["[UNK]"]  # no "a" is left
hard = {
    "Hello, my dog is cute": [
        101, 7592, 1010, 2026, 3899, 2003, 10140, 102],
    "Café NAÏVE, unaffable!": [
        101, 7668, 15743, 1010, 14477, 20961, 3468, 999, 102],
    "don't 3.14159": [101, 2123, 1005, 1056, 1017, 1012, 15471, 28154, 102],
    "日本語 🙂 x": [101, 1864, 1876, 1950, 100, 1060, 102],
    "$5 + a_b <x>": [
        101, 1002, 1019, 1009, 1037, 1035, 1038, 1026, 1060, 1028, 102]}
for text, ids in hard.items():
    print([bert_vocab[i] for i in bert(text)[1:-1]])
    assert bert(text) == ids or not real
assert len(bert_vocab) == 30_522

# %% [markdown]
# How the list was learned is described only in outline: join the two pieces that raise the likelihood of a language model most (Schuster and Nakajima, 2012).
# The trainer that made BERT's list was not published.
# A common reconstruction (the course of Hugging Face calls it a best guess) merges the pair with the largest
#
# $$\frac{c_{ab}}{c_a\,c_b}, \tag{15.6.2}$$
#
# where $c_{ab}$ counts the pair and $c_a,c_b$ its two symbols.
# It prefers pairs that nearly always occur together.
# Taken literally, it also prefers rare ones: since $c_{ab}\le\min(c_a,c_b)$, the score is at most 1 over the larger of $c_a$ and $c_b$.
# (The trainer in the package `tokenizers` counts pairs as BPE does.)
# We mark the first piece of a word by `^` instead of the others by `##`, which is the same information.

# %%
def pair_ratio(n_ab, n_a, n_b):
    """The score (15.6.2)."""
    return n_ab / (n_a * n_b)


words = {tuple(word): n for word, n in four.items()}
for pair in learn_merges(words, 6, "alphabet", pair_ratio):
    n_pair, n_one = Counter(), Counter()  # counted anew
    for word, n in words.items():
        for symbol in word:
            n_one[symbol] += n
        for a, b in zip(word, word[1:]):
            n_pair[a, b] += n
    scores = {(a, b): pair_ratio(n, n_one[a], n_one[b])
              for (a, b), n in n_pair.items()}
    assert pair == min(scores, key=lambda ab: (-scores[ab], ab))
    words = {merge(word, pair): n for word, n in words.items()}

# %%
begun = {("^" + word[0], *word[1:]): n for word, n in train.items()}
base = len({symbol for word in begun for symbol in word})
sample_size = min(800, max_size)
ratio = learn_merges(begun, sample_size - base, "alphabet",
                     score=pair_ratio)
often = learn_merges(begun, max_size - base, "alphabet")
for name, learned in (("ratio", ratio), ("count", often)):
    print(name, *("".join(pair) for pair in learned[:10]))


def wordpieces(learned, k):
    """The vocabulary of the letters and the first k merges, with ##."""
    symbols = {s for word in begun for s in word}
    symbols |= {"".join(pair) for pair in learned[:k]}
    return {s[1:] if s[0] == "^" else f"##{s}" for s in symbols}


assert len(wordpieces(ratio, 0)) == base and (base == 52 or not real)
assert wordpiece_encode("oo", {"o", "##o"}) == ["o", "##o"]

# %% [markdown]
# ## A language model of pieces
#
# The methods so far are recipes.
# The *unigram language model* (Kudo, 2018) is a probability model: pieces $g$ of a vocabulary $\mathcal{V}$ are drawn independently with probabilities $p_g$, and a word $x$ can come about by any of its segmentations $S(x)$,
#
# $$P(x)=\sum_{(g_1,\dots,g_k)\in S(x)}\ \prod_{j=1}^{k}p_{g_j}. \tag{15.6.3}$$
#
# (The number of pieces $k$ has no probability of its own here: the products add up to 1 for each $k$, so $P(x)$ compares segmentations and trains the $p_g$, but does not add up to 1 over all words.)
# It encodes by the most probable segmentation.
# There are up to $2^{L-1}$ for $L$ letters, but the best one up to letter $j$ ends in some piece $x_{i+1}\dots x_j$, behind the best one up to $i$.
# With $b_j$ for its log-probability,
#
# $$b_0=0,\qquad b_j=\max_{i<j}\left(b_i+\log p_{x_{i+1}\dots x_j}\right), \tag{15.6.4}$$
#
# which is the *Viterbi algorithm*.
# Replacing the maximum by $\log\sum\exp$ gives $\log P(x)$, the forward algorithm.
#
# The probabilities are not known, and neither are the segmentations, so they are found in turn by *expectation maximization* (EM): count each piece as often as the present model expects it, $c_g$, and set $p_g=c_g/\sum_hc_h$.
# No second recursion is needed for the expected counts, since
#
# $$c_g=\sum_xf_x\,E\left[\text{number of }g\text{ in }x\right]=\frac{\partial}{\partial\log p_g}\sum_xf_x\log P(x), \tag{15.6.5}$$
#
# with $f_x$ the count of word $x$: the derivative of each product in (15.6.3) with respect to $\log p_g$ is the product times the number of its $g$, and dividing by $P(x)$ turns the products into probabilities of the segmentations.
# Autograd does this (Eisner, 2016).

# %% tags=["export"]
class UnigramLM:
    """A unigram language model of pieces (Kudo, 2018), in float64.

    `freqs` maps words, with their mark, to counts. At first the pieces
    are the letters and the `num_pieces` other substrings of at most
    `longest` letters with the largest count times length.
    """

    def __init__(self, freqs, num_pieces, longest=8):
        if not freqs or longest < 1:
            raise ValueError(f"{len(freqs)} words, longest={longest}: both "
                             "need 1 or more.")
        counts = Counter()
        for word, n in freqs.items():
            for i, j in self.spans(word, longest):
                counts[word[i:j]] += n
        order = sorted(counts, key=lambda g: (-counts[g] * len(g), g))
        self.letters = sorted(g for g in counts if len(g) == 1)
        self.pieces = self.letters + [
            g for g in order if len(g) > 1 and counts[g] > 1][:num_pieces]
        self.freqs = torch.tensor([*freqs.values()], dtype=torch.float64)
        self.lengths = torch.tensor([len(word) for word in freqs])
        index = {g: i for i, g in enumerate(self.pieces)}
        self.table = torch.full((len(freqs), max(self.lengths), longest),
                                len(self.pieces))  # (words, end, length)
        for row, word in zip(self.table, freqs):
            for i, j in self.spans(word, longest):
                row[j - 1, j - i - 1] = index.get(word[i:j],
                                                  len(self.pieces))
        self.set_counts([counts[g] for g in self.pieces])

    @staticmethod
    def spans(word, longest):
        """All (i, j) with at most `longest` letters between."""
        return [(i, j) for j in range(1, len(word) + 1)
                for i in range(max(0, j - longest), j)]

# %% [markdown]
# For all words at once, `table` holds which piece ends at each place with each length.
# Pieces that are pruned later stay in it with probability 0.

# %% tags=["export"]
@add_to_class(UnigramLM)
def set_counts(self, counts):
    """Probabilities from counts, 0 for gone; single letters always stay."""
    self.counts = torch.as_tensor(counts, dtype=torch.float64).clone()
    self.counts[:len(self.letters)].clamp_(min=1e-3)
    self.logp = (self.counts / self.counts.sum()).log()
    self.known = {g: p for g, p in zip(self.pieces, self.logp.tolist())
                  if p > -math.inf}


@add_to_class(UnigramLM)
def log_likelihood(self, logp):
    """log P of each training word, (words,), for log-probabilities."""
    logp = F.pad(logp, (0, 1), value=-math.inf)[self.table]
    forward = [logp.new_zeros(len(logp))]
    for j in range(logp.shape[1]):
        ways = torch.stack([forward[j - k] + logp[:, j, k] for k in
                            range(min(j + 1, logp.shape[2]))], dim=1)
        inside = (j < self.lengths)[:, None]  # else no matter, and finite
        forward.append(ways.where(inside, ways.new_zeros(())).logsumexp(1))
    forward = torch.stack(forward, dim=1)  # (words, places)
    return forward.gather(1, self.lengths[:, None])[:, 0]


@add_to_class(UnigramLM)
def em_step(self):
    """Replace the probabilities by EM; the log-likelihood before."""
    logp = self.logp.clone().requires_grad_()
    total = self.freqs @ self.log_likelihood(logp)
    self.set_counts(torch.autograd.grad(total, logp)[0])
    return total.item()

# %% tags=["export"]
@add_to_class(UnigramLM)
def viterbi(self, word, without=""):
    """The most probable pieces, and their log-probability."""
    best = [(0.0, 0)] + [(-math.inf, 0)] * len(word)
    for i, j in self.spans(word, self.table.shape[2]):
        p = self.known.get(word[i:j], -math.inf)
        if word[i:j] != without and best[i][0] + p > best[j][0]:
            best[j] = best[i][0] + p, i
    pieces, j = [], len(word)
    while j and best[j][0] > -math.inf:
        pieces.append(word[best[j][1]:j])
        j = best[j][1]
    if j:
        raise ValueError(f"{word!r} has no segmentation: a letter of it was "
                         "not in the training words.")
    return pieces[::-1], best[-1][0]

# %%
# check 15.6-C7: Viterbi and expected counts against all segmentations
toy = {"lowest_": 3, "newest_": 4, "lower_": 2, "new_": 5, "low_": 6}
model = UnigramLM(toy, 20, longest=5)
expected = Counter()
for word, n in toy.items():
    splits = {}
    for cuts in itertools.product((0, 1), repeat=len(word) - 1):
        places = [0, *(i + 1 for i, c in enumerate(cuts) if c), len(word)]
        split = tuple(word[i:j] for i, j in itertools.pairwise(places))
        if all(g in model.known for g in split):
            splits[split] = sum(model.known[g] for g in split)
    pieces, score = model.viterbi(word)
    assert math.isclose(score, max(splits.values()))
    assert math.isclose(splits[tuple(pieces)], score)
    total = sum(map(math.exp, splits.values()))
    at = list(toy).index(word)
    assert math.isclose(model.log_likelihood(model.logp)[at],
                        math.log(total))
    for split, value in splits.items():
        for g in split:
            expected[g] += n * math.exp(value) / total
before = [model.em_step() for _ in range(8)]
again = UnigramLM(toy, 20, longest=5)
again.em_step()
torch.testing.assert_close(again.counts, torch.tensor(
    [max(expected[g], 1e-3) if len(g) == 1 else expected[g]
     for g in again.pieces], dtype=torch.float64))
assert before == sorted(before) and before[-1] > before[0]
print([model.viterbi(word)[0] for word in ("newer_", "slowest_")])

# %% [markdown]
# Training goes from many pieces to few.
# After some EM steps each piece is asked what it is worth: its count times what its best replacement by other pieces would cost in log-probability.
# The least valuable quarter goes, and so on until the vocabulary has the size wanted.
# (The library SentencePiece, by Kudo and Richardson (2018), trains such models and BPE on raw text, in which the blank is a letter like others; its pruning differs from ours in details.)

# %% tags=["export"]
@add_to_class(UnigramLM)
def shrink(self, size, share=0.75, steps=2):
    """Prune to at most `size` pieces, with EM steps between."""
    if size < len(self.letters):
        raise ValueError(f"size={size}: the letters alone are "
                         f"{len(self.letters)}.")
    for _ in range(steps):
        self.em_step()
    while len(self.known) > size:
        worth = {g: self.counts[i].item() * (self.known[g]
                                             - self.viterbi(g, g)[1])
                 for i, g in enumerate(self.pieces)
                 if len(g) > 1 and g in self.known}
        room = max(size, int(share * len(self.known))) - len(self.letters)
        keep = set(sorted(worth, key=lambda g: (-worth[g], g))[:room])
        self.set_counts([n if g in keep or len(g) == 1 else 0.0 for g, n in
                         zip(self.pieces, self.counts.tolist())])
        for _ in range(steps):
            self.em_step()
    return self

# %%
worth = Counter()  # what decides about the pieces at the beginning
for word, n in toy.items():
    for i, j in UnigramLM.spans(word, 5):
        worth[word[i:j]] += n * (j - i) if j > i + 1 else 0
others = worth.keys() - set(again.pieces)
assert UnigramLM.spans("abc", 2) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
assert min(worth[g] for g in again.pieces[len(again.letters):]) >= max(
    worth[g] for g in others)
assert math.isclose(sum(map(math.exp, again.known.values())), 1)
again.set_counts([0.0] * len(again.pieces))
assert list(again.known) == again.letters  # the letters stay
size = len(model.known)
assert len(model.shrink(14).known) == 14 < size
assert all(letter in model.known for letter in model.letters)
for bad, said in ((lambda: model.viterbi("zoo_"), "zoo_"),
                  (lambda: UnigramLM({}, 5), "0 words"),
                  (lambda: model.shrink(2), "size=2"),
                  (lambda: learn_merges({}, 1, "last"), "ties='last'")):
    try:
        bad()
        raise AssertionError("bad input was accepted")
    except ValueError as error:
        assert said in str(error)

# %% [markdown]
# ## The methods at equal size
#
# All of them learn from the same words of *The Time Machine* and are measured on the same later ones, in tokens per word.

# %%
sizes = [size for size in (60, 100, 200, 400, 800, 1600)
         if size <= max_size]
names = ("BPE", "longest match on BPE's list", "WordPiece, by count",
         "WordPiece, by ratio", "unigram model")
curves, segmented = {name: [] for name in names}, {}
sample = "the unmistakable traveller whispered something incredible"
unigram = UnigramLM({f"{word}_": n for word, n in train.items()},
                    max_size * 5 // 2)
start = unigram.em_step()
for size in sizes[::-1]:
    k = size - len(letters)
    low = {pair: i for pair, i in ranks.items() if i < k}
    pieces = letters | {a + b for a, b in low}
    by_count = wordpieces(often, size - base)
    by_ratio = wordpieces(ratio, size - base)
    unigram.shrink(size)
    cutters = dict(zip(names, (
        lambda word: apply_merges((*word, "_"), low),
        lambda word: wordpiece_encode(f"{word}_", pieces, ""),
        lambda word: wordpiece_encode(word, by_count),
        lambda word: wordpiece_encode(word, by_ratio),
        lambda word: unigram.viterbi(f"{word}_")[0])))
    for name, cutter in cutters.items():
        if size <= sample_size or name != "WordPiece, by ratio":
            curves[name].insert(0, tokens_per_word(cutter))
    if size == sample_size:
        segmented = {name: [piece for word in sample.split()
                            for piece in cutter(word)]
                     for name, cutter in cutters.items()}
        differ = sum(tuple(cutters[names[0]](word)) !=
                     tuple(cutters[names[1]](word)) for word in held)

# %%
for name, values in curves.items():
    print(f"{name:28}", *(f"{value:.2f}" for value in values))
print(f"at {sample_size}: BPE and the longest match differ on {differ} "
      f"of {len(held)} distinct words")
assert len(unigram.known) <= 60 and all(
    values == sorted(values, reverse=True) for name, values in
    curves.items() if name != "WordPiece, by ratio")
if real and max_size >= 1600:
    for bpe, longest, count in zip(*(curves[name] for name in names[:3])):
        assert bpe <= longest < bpe + 0.06
        assert abs(count - bpe) < 0.06 or bpe > 2.5
    assert all(np.ptp([curves[name][i] for name in names
                       if name != names[3]]) < 0.12 for i in range(1, 6))
    assert curves[names[3]][4] > max(3, 2 * curves["BPE"][4])
    assert 0.25 < differ / len(held) < 0.4

# %% tags=["hide-input"]
ax = d2l.plot([sizes[:len(v)] for v in curves.values()],
              list(curves.values()), names, xlabel="vocabulary size",
              ylabel="tokens per word", xscale="log",
              fmts=("-o", "--s", "-.^", ":v", "-d"))
ax.set_xticks(sizes, labels=map(str, sizes))
ax.minorticks_off()
ax.legend(fontsize=7)
d2l.describe(ax, """Tokens per held-out word against the size of the
    vocabulary from 60 to 1600, logarithmic. BPE, the longest match on its
    list, WordPiece by count and the unigram model fall together from about
    four to one and a half; WordPiece by ratio stays above three.""")

# %% [markdown]
# **Figure 15.6.5.** Tokens per word on the last tenth of the book. Four of the curves nearly coincide; the fifth was computed up to 800.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.9, 2.4))
draw_boxes(ax, [(name.replace(" on", "\non").replace(", ", ",\n"), [
    piece.replace("_", "␣") for piece in tokens])
    for name, tokens in segmented.items()], 64)
d2l.describe(ax, """The sentence "the unmistakable traveller whispered
    something incredible" in pieces by five methods with 800 entries each.
    WordPiece by ratio cuts it nearly into letters; the others into parts of
    words, and not into the same ones.""")

# %% [markdown]
# **Figure 15.6.6.** One sentence, five segmentations with 800 entries each. ␣ is the end mark; the pieces of WordPiece have `##` instead.
#
# On this book BPE, WordPiece by count and the unigram model need nearly the same number of tokens (from 100 entries on within 0.12 a word), and the longest match on BPE's list hardly more, although with 800 entries it segments about a third of the distinct held-out words differently.
# The ratio, taken literally, spends its merges on rare pairs and with 800 entries still needs more than three tokens a word.
# Equal counts are not equal pieces: Bostrom and Durrett (2020) found that the unigram model's pieces align better with morphology than BPE's, and that language models pretrained on them did as well or better on downstream tasks in English and Japanese.
# A tokenizer is in the end judged by the model that reads it.
#
# ## Whose words are whole
#
# A table serves the text that it was learned from.
# We count tokens per word on the sentences kept for tests, which say the same in both languages.
# A word is what stands between blanks; French puts one before "!" and "?", so there these marks count as words, which lowers its numbers slightly.

# %%
cutters = {"GPT-2": gpt2.encode, "BERT": lambda text: bert(text, 10**6)[1:-1]}
cutters |= {f"own, {name}": own[name].encode for name in own}
rates = {}
for name, cutter in cutters.items():
    rates[name] = [sum(len(cutter(text)) for text in side)
                   / sum(len(text.split()) for text in side)
                   for side in testing]
    print(f"{name:18} English {rates[name][0]:.2f}  French "
          f"{rates[name][1]:.2f}")
if real and full_run:
    assert rates["GPT-2"][1] > 1.4 * rates["GPT-2"][0]
    assert rates["BERT"][1] > 1.4 * rates["BERT"][0]
    assert rates["own, English"][1] > 1.5 * rates["own, English"][0]
    assert rates["own, French"][0] > 1.5 * rates["own, English"][0]
    assert rates["own, English"][1] > 1.5 * rates["own, French"][1]
    assert all(rates[f"own, {side}"][i] < rates["own, half of each"][i]
               < 1.2 * rates[f"own, {side}"][i]
               for i, side in enumerate(("English", "French")))

# %% [markdown]
# Our own tables have equally many merges, from equally many sentences with the same content, so the language of the training text is what differs: each language takes more than one and a half times as many tokens in the other's table as in its own.
# With half of each, both come close to their own.
# GPT-2 and BERT were made for English.
# Petrov and others (2023) compared the same sentences in many languages and found differences of up to 15 times for tokenizers in use, also for those meant for many languages; the count sets prices, speed and how much fits into a context.
#
# Numbers show another trace of the training text.

# %%
whole = {digits: sum(len(gpt2.encode(f" {n}")) == 1 for n in
                     range(10**(digits - 1), 10**digits))
         for digits in (1, 2, 3, 4)}
print({digits: f"{n} of {9 * 10**(digits - 1)}"
       for digits, n in whole.items()})
for text in (" 1984", " 1985", " 1786", " 7861", " 1234567"):
    print([gpt2.vocab[i] for i in gpt2.encode(text)],
          re.findall(r"\d{1,3}", text))
if real:
    assert list(whole.values()) == [9, 90, 405, 176]
    assert all(len(gpt2.encode(f" {n}")) == 1 for n in range(1900, 2021))

# %% [markdown]
# In GPT-2 each year from 1900 to 2020 is one token together with the blank in front (without it, many are not), while fewer than one in fifty of all numbers of four digits are; the others are cut wherever the merges happen to.
# Later tokenizers fix the groups in the pre-tokenization: single digits (LLaMA, PaLM), or up to three digits from the left (GPT-3.5 and GPT-4, by `\p{N}{1,3}` in the pattern of `cl100k_base`), as on the right of the output.
# Singh and Strouse (2024) report that these two do arithmetic much better when commas force the groups to begin from the right.
#
# **Where this stands.** FastText's vectors remain a cheap baseline, but the embeddings of language models are rows for pieces, and layers of attention put them into context ([Section 15.8](08-bert.ipynb)).
# Byte-level BPE is common among them, with larger tables than GPT-2's: about 100,000 entries in OpenAI's `cl100k_base` and 200,000 in its later `o200k_base`, 128,000 in Llama 3, 150,000 in Qwen3.
# ALBERT, T5 and XLNet have unigram tables.
# Work goes on at both ends: SuperBPE (Liu and others, 2025) merges across blanks, and byte models ([Section 9.2](../09-recurrent-neural-networks/02-text-to-sequences.ipynb)) do without a table.
#
# ## Summary
#
# - FastText gives an unseen word a vector, the sum of its n-grams; that its relatives are near is mostly spelling, as untrained n-grams show; that it fits its contexts, a little, is learned.
# - A BPE tokenizer is its ordered merges; the longest match on the same list of 800 segments about a third of the distinct held-out words differently, at nearly equal length.
# - Bytes make encoding lossless; pre-tokenization and special tokens belong to the tokenizer, and ours gave GPT-2's and BERT's ids on all the hard cases that we tried.
# - The unigram model is trained by EM, whose expected counts are a gradient.
# - At equal size BPE, WordPiece by count and the unigram model took nearly equal numbers of tokens on one book; the language of the training text mattered more.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.6-1
#
# How many merges does a vocabulary of $m$ entries take, from $n$ symbols?
# When does it take more?

# %% [markdown]
# #### Solution 15.6-1

# %% [markdown]
# Each merge adds one entry, so $m-n$, if each makes a new string.
# Two merges may make the same one, as `aa`+`a` and `a`+`aa` both make `aaa`; then one more is needed.
# On the book this does not happen in the merges of this section.

# %%
for k in (0, 1, 100, len(merges)):
    vocabulary = letters | {a + b for a, b in merges[:k]}
    assert len(vocabulary) - len(letters) == k or not real
print(len(letters), "symbols,", len(vocabulary), "entries")
twice = learn_merges({("a",) * 3: 3, ("b", "a", "a"): 2, ("a", "a"): 9,
                      ("a", "b", "aa"): 1, ("a", "aa"): 5}, 9)
made = ["".join(pair) for pair in twice]
print(made)
assert made.count("aaa") == 2  # from aa + a, and from a + aa

# %% [markdown]
# ### Exercise 15.6-2
#
# Let the symbols be words instead of letters, and the "words" sentences.
# What are the first merges on *The Time Machine*?

# %% [markdown]
# #### Solution 15.6-2

# %% [markdown]
# Common phrases: first "of the", later those of this book, such as "the time traveller".

# %%
spoken = [re.findall("[a-z]+", s) for s in
          re.split(r"[.;:!?]", read_text("time-machine").lower())]
spoken = Counter(tuple(f"{word} " for word in s) for s in spoken if s)
phrases = learn_merges(spoken, 40, "alphabet")
print(", ".join("".join(pair).strip() for pair in phrases))
pairs_of_words = Counter()
for sentence, n in spoken.items():
    for pair in zip(sentence, sentence[1:]):
        pairs_of_words[pair] += n
assert pairs_of_words[phrases[0]] == max(pairs_of_words.values())
if real:
    assert phrases[0] == ("of ", "the ")
    assert ("the time ", "traveller ") in phrases

# %% [markdown]
# ### Exercise 15.6-3
#
# *BPE-dropout* (Provilkov and others, 2020) skips each possible merge with probability $p$ whenever the encoder chooses one, so a model in training sees many segmentations of a word.
# Write it, and show what $p=0$, $p=1$ and values between do.

# %% [markdown]
# #### Solution 15.6-3

# %% [markdown]
# With $p=0$ it is BPE, with $p=1$ letters.
# Between, the mean number of pieces of this word rises with $p$, and joining the pieces gives the word back each time.
# Usually it is on in training and off afterwards.

# %%
def dropout_merges(symbols, ranks, p, rng):
    """One random segmentation: each possible merge is skipped with p."""
    while True:
        found = [(ranks[pair], i) for i, pair in
                 enumerate(zip(symbols, symbols[1:]))
                 if pair in ranks and rng.random() >= p]
        if not found:
            return symbols
        _, i = min(found)
        symbols = (*symbols[:i], symbols[i] + symbols[i + 1],
                   *symbols[i + 2:])


word, rng = (*"unmistakable", "_"), random.Random(0)
plain = apply_merges(word, ranks)
means = []
for p in (0, 0.1, 0.3, 0.6, 1):
    seen = Counter(dropout_merges(word, ranks, p, rng) for _ in range(300))
    assert all("".join(split) == "".join(word) for split in seen)
    means.append(sum(len(s) * n for s, n in seen.items()) / 300)
    print(f"p = {p}: {len(seen):3} segmentations, {means[-1]:.1f} pieces; "
          f"most often {' '.join(seen.most_common(1)[0][0])}")
    assert 0 < p < 1 or len(seen) == 1
assert dropout_merges(word, ranks, 0, rng) == plain
assert dropout_merges(word, ranks, 1, rng) == word
assert means == sorted(means) and means[0] < means[2] < means[4]
for word in list(held)[:300]:
    symbols = (*word, "_")
    assert dropout_merges(symbols, ranks, 0, rng) == apply_merges(
        symbols, ranks)

# %% [markdown]
# ### Exercise 15.6-4
#
# 50,000 different n-grams are hashed into two million buckets.
# Which share of them must share a bucket with another one?
# Compare with real n-grams and FNV-1a, also for the 20,000 buckets of this section.

# %% [markdown]
# #### Solution 15.6-4

# %% [markdown]
# For one n-gram, each of the other $n-1$ misses its bucket with probability $1-1/B$, so the share is $1-(1-1/B)^{n-1}$: 2.47 % for two million.
# With 20,000 buckets more than nine in ten n-grams share theirs.
# Then one row serves several n-grams, and yet the unseen words above fitted their contexts.

# %%
grams = list(dict.fromkeys(gram for word in sorted(counts)[::3]
                           for gram in char_ngrams(word)))[:50_000]
n = len(grams)
for B in (2_000_000, 20_000):
    taken = Counter(fnv1a(gram) % B for gram in grams)
    share = sum(taken[fnv1a(gram) % B] > 1 for gram in grams) / n
    predicted = 1 - (1 - 1 / B) ** (n - 1)
    print(f"{B} buckets: {share:.2%} of {n}, predicted {predicted:.2%}")
    spread = math.sqrt(2 * predicted * (1 - predicted) / n)  # they pair up
    assert abs(share - predicted) < 4 * spread + 1e-4
assert n == 50_000 or not real
assert round(1 - (1 - 1 / 2e6) ** 49_999, 4) == 0.0247

# %% [markdown]
# ### Exercise 15.6-5
#
# Use n-grams in the other model of [Section 15.1](01-word2vec.ipynb), CBOW, where the mean of the context words' vectors predicts the center.
# What are the shapes, and what is the gradient of one row?

# %% [markdown]
# #### Solution 15.6-5

# %% [markdown]
# The rows of the $2m$ context words give vectors of shape $(2m,d)$ and a mean $\bar{\mathbf{v}}\in\mathbb{R}^d$.
# A row that occurs $k$ times in their lists gets $\frac{k}{2m}\,\partial L/\partial\bar{\mathbf{v}}$, so a common n-gram learns from several words of one window at once.

# %%
torch.manual_seed(0)
net = FastText(50, 8, ["the", "walks"]).double()
context = ["the", "walked", "walking", "the"]  # 2m = 4
rows = net.rows(context)
u = torch.randn(6, 8, dtype=torch.float64)  # the center, five noise words
signs = torch.tensor([1.0, -1, -1, -1, -1, -1], dtype=torch.float64)
vectors = net(rows)  # (4, 8)
mean = vectors.mean(dim=0)  # (8,)
mean.retain_grad()
F.softplus(-signs * (u @ mean)).sum().backward()
slope = (-signs * torch.sigmoid(-signs * (u @ mean)).detach()) @ u
torch.testing.assert_close(mean.grad, slope)
times = torch.from_numpy(np.bincount(np.concatenate(rows), minlength=52))
torch.testing.assert_close(net.bag.weight.grad,
                           times.double()[:, None] / 4 * slope)
assert tuple(vectors.shape) == (4, 8) and times.max() > 1
print(f"{int((times > 0).sum())} rows move, one of them "
      f"{int(times.max())} times as far as others")

# %% [markdown]
# ## Sources
#
# - P. Bojanowski, E. Grave, A. Joulin and T. Mikolov, Enriching word vectors with subword information, *TACL* 5, 2017, [arXiv:1607.04606](https://arxiv.org/abs/1607.04606): fastText.
# - Facebook Research, [github.com/facebookresearch/fastText](https://github.com/facebookresearch/fastText): the hash, the defaults, the mean in place of the sum.
# - R. Sennrich, B. Haddow and A. Birch, Neural machine translation of rare words with subword units, 2016, [arXiv:1508.07909](https://arxiv.org/abs/1508.07909).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the example of four words, and the two shortcuts.
# - A. Radford, J. Wu, R. Child, D. Luan, D. Amodei and I. Sutskever, Language models are unsupervised multitask learners, 2019, [github.com/openai/gpt-2](https://github.com/openai/gpt-2): byte-level BPE.
# - M. Schuster and K. Nakajima, Japanese and Korean voice search, 2012, [doi:10.1109/ICASSP.2012.6289079](https://doi.org/10.1109/ICASSP.2012.6289079): WordPiece.
# - Y. Wu et al., Google's neural machine translation system, 2016, [arXiv:1609.08144](https://arxiv.org/abs/1609.08144): WordPiece.
# - X. Song, A. Salcianu, Y. Song, D. Dopson and D. Zhou, Fast WordPiece tokenization, 2021, [arXiv:2012.15524](https://arxiv.org/abs/2012.15524): the longest match.
# - Hugging Face, *LLM course*, [WordPiece tokenization](https://huggingface.co/learn/llm-course/chapter6/6): the ratio, and that it is a guess.
# - Hugging Face, [github.com/huggingface/tokenizers](https://github.com/huggingface/tokenizers): its trainer for WordPiece, and the ids of the hard cases.
# - J. Devlin, M.-W. Chang, K. Lee and K. Toutanova, BERT, 2019, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805): the table of 30,522 pieces.
# - T. Kudo, Subword regularization, 2018, [arXiv:1804.10959](https://arxiv.org/abs/1804.10959): the unigram model.
# - T. Kudo and J. Richardson, SentencePiece, 2018, [arXiv:1808.06226](https://arxiv.org/abs/1808.06226).
# - J. Eisner, Inside-outside and forward-backward algorithms are just backprop, 2016, [doi:10.18653/v1/W16-5901](https://doi.org/10.18653/v1/W16-5901).
# - K. Bostrom and G. Durrett, Byte pair encoding is suboptimal for language model pretraining, 2020, [arXiv:2004.03720](https://arxiv.org/abs/2004.03720).
# - I. Provilkov, D. Emelianenko and E. Voita, BPE-dropout, 2020, [arXiv:1910.13267](https://arxiv.org/abs/1910.13267).
# - A. Petrov, E. La Malfa, P. H. S. Torr and A. Bibi, Language model tokenizers introduce unfairness between languages, 2023, [arXiv:2305.15425](https://arxiv.org/abs/2305.15425).
# - A. K. Singh and DJ Strouse, Tokenization counts: the impact of tokenization on arithmetic in frontier LLMs, 2024, [arXiv:2402.14903](https://arxiv.org/abs/2402.14903).
# - OpenAI, [github.com/openai/tiktoken](https://github.com/openai/tiktoken): the pattern of `cl100k_base`, the sizes of it and of `o200k_base`.
# - A. Grattafiori et al., The Llama 3 herd of models, 2024, [arXiv:2407.21783](https://arxiv.org/abs/2407.21783).
# - Qwen Team, *Key concepts*, [qwen.readthedocs.io](https://qwen.readthedocs.io/en/latest/getting_started/concepts.html): byte-level BPE, 151,646 entries.
# - Hugging Face, *LLM course*, [Unigram tokenization](https://huggingface.co/learn/llm-course/chapter6/7): which models have unigram tables.
# - A. Liu, J. Hayase, V. Hofmann, S. Oh, N. A. Smith and Y. Choi, SuperBPE: space travel for language models, 2025, [arXiv:2503.13423](https://arxiv.org/abs/2503.13423).
