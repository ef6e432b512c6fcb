# ---
# jupyter:
#   d2l:
#     data: [time-machine, austen, tiny-shakespeare]
#     profiles:
#       gpu: {}
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
# # 9.2 Converting raw text into sequence data
#
# A model of language reads a sequence of numbers; a book is a file of characters.
# Between the two lie a few small decisions: what to throw away, what counts as one unit, which units get a number.
# Each decision fixes what a model can learn later, and the counts that come with it say how far plain counting will carry us.
#
# **You will**
#
# - build the pipeline from raw text to tokens, a vocabulary and a tensor of indices, and invert it;
# - keep the vocabulary to the training text, and say what happens to the words it lacks;
# - measure the laws of Zipf and Heaps, and see how much the numbers depend on the window and on the length of the text;
# - compare three authors at equal numbers of words, beside the spread between parts of one author.
#
# **Cost**: about ten seconds on a CPU, no use of a GPU; a download of 5 MB.

# %%
import hashlib
import math
import re
from collections import Counter
from itertools import combinations

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import DataModule, add_to_class

d2l.use_style()
f64 = torch.float64
names = {"time-machine": "Wells", "austen": "Austen",
         "tiny-shakespeare": "Shakespeare"}
real = all(d2l.fetch(name).source == "real" for name in names)

# %% [markdown]
# ## From a file to indices
#
# ![Four rows joined by arrows. Raw text: The Time Machine, by H. G. Wells. Cleaned text: the time machine by h g wells. Tokens: eight boxes with the characters t, h, e, space, t, i, m, e. Indices: eight boxes with 21, 9, 6, 0, 21, 10, 14, 6. From the right a dashed arrow, look up, comes out of a table, the vocabulary: 0 is the space, 1 is unk, 2 is a, 6 is e, 21 is t.](img/text-pipeline.svg)

# %% [markdown]
# **Figure 9.2.1.** The steps of this section: clean the text, cut it into *tokens*, look up the index of each token in a *vocabulary*.
#
# ### Reading
#
# Our book is *The Time Machine* by H. G. Wells, with just over 30 000 words: small enough that the experiments of this chapter take seconds on a CPU.

# %% tags=["export"]
def read_text(name):
    """The text of a data set of one file, such as "time-machine"."""
    path, = d2l.fetch(name).files.values()
    return path.read_text(encoding="utf-8")

# %%
raw = read_text("time-machine")
print(raw[:206])

# %% [markdown]
# The first language models of this chapter predict one character at a time, and a small alphabet keeps them small.
# So `preprocess` keeps only the letters, all in lower case, and puts one space for every run of other characters.

# %% tags=["export"]
class TextData(DataModule):
    """A text as a sequence of indices.

    `name` is a data set of one file. `preprocess` keeps the letters a to z,
    in lower case, and puts one space for each run of other characters.
    """

    def __init__(self, name="time-machine"):
        super().__init__()
        self.save_hyperparameters()

    def preprocess(self, text):
        return re.sub("[^A-Za-z]+", " ", text).lower()

# %%
# check 9.2-C1: the right file, and the cleaned text
data = TextData()
text = data.preprocess(raw)
print(text[:60])
assert data.name == "time-machine"
assert set(text) <= set("abcdefghijklmnopqrstuvwxyz ")
assert "  " not in text
if real:
    digest = hashlib.sha1(raw.encode()).hexdigest()
    assert digest == "090b5e7e70c295757f55df93cb0a180b9691891a"
    assert len(raw) == 178_979 and raw.isascii()
    assert max(len(line) for line in raw.splitlines()) == 70
    commonest = "".join(t for t, _ in Counter(text).most_common(5))
    assert commonest == " etai" and len(set(text)) == 27
    assert text[:60] == ("the time machine by h g wells i the time "
                         "traveller for so it")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 2.6))
letters = sorted(Counter(text).items())
ax.bar(["␣" if t == " " else t for t, _ in letters],
       [n / 1000 for _, n in letters], color="#0072B2")
ax.grid(axis="x", visible=False)
ax.set(xlabel="character", ylabel="thousands")
d2l.describe(ax, """Bars for the 27 characters of the cleaned text: the space
    is the most frequent with 33 thousand, then e, t, a and i; the bars of j,
    q, x and z can hardly be seen.""")

# %% [markdown]
# **Figure 9.2.2.** What is left of the book: 27 characters, some of them far more frequent than others.

# %% [markdown]
# This is cleaning for a small alphabet, and no model to copy.
# Look at what is lost:

# %%
for sample in ("I don't know.", "In 802,701 A.D.", "naïve, à la carte"):
    print(f"{sample:18} ->  {data.preprocess(sample)!r}")
inside = len(re.findall("[a-z]'[a-z]", raw))  # don't, the man's
print(f"apostrophes inside words: {inside}, capital letters: "
      f"{sum(c.isupper() for c in raw)}, line breaks: {raw.count(chr(10))}")
assert data.preprocess("I don't.") == "i don t "
assert data.preprocess("naïve 42") == "na ve "
assert not real or inside > 100 and text.split().count("t") > 20

# %% [markdown]
# The ends of sentences, capitals, digits and paragraphs disappear, letters with accents turn into gaps, and `don't` becomes the two words `don` and `t`.
# None of it can be restored (Exercise 9.2-5 does without loss).
#
# ### Tokens
#
# A *token* is the unit that gets a number and that a model predicts in one step.
# Two choices suggest themselves.
# With *characters* the vocabulary is short and the sequence long; with *words* the vocabulary is long and the sequence short.
# `TextData` uses characters, and a subclass may decide otherwise.

# %% tags=["export"]
@add_to_class(TextData)
def tokenize(self, text):
    """A list of characters; a subclass may choose other tokens."""
    return list(text)

# %%
# check 9.2-C2: the first thirty tokens
tokens = data.tokenize(text)
print(",".join(tokens[:30]))
if real:
    assert ",".join(tokens[:30]) == ("t,h,e, ,t,i,m,e, ,m,a,c,h,i,n,e, "
                                     ",b,y, ,h, ,g, ,w,e,l,l,s, ")

# %%
class WordData(TextData):
    """Text as a sequence of words."""

    def tokenize(self, text):
        return text.split()

# %%
# check 9.2-C5: the same text in words
words = WordData().tokenize(text)
for kind, units in (("characters", tokens), ("words", words)):
    print(f"{kind:10} {len(units):7} tokens, {len(set(units)):5} distinct")
assert len(tokens) > 4 * len(words) and len(set(words)) > len(set(tokens))
if real:
    assert (len(words), len(set(words))) == (32_775, 4579)

# %% [markdown]
# Most systems today take neither, but pieces of words.
# *Byte-pair encoding* starts with single characters (or bytes) and again and again joins the pair of neighbours that occurs most often into a new token; Gage (1994) compressed data in this way, and Sennrich, Haddow and Birch (2016) made tokens of it.
# Three rounds on our text:

# %%
def merge(tokens, pair):
    """Join the two neighbours of `pair` wherever they meet, from the left."""
    merged = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged


assert merge(list("aaab"), ("a", "a")) == ["aa", "a", "b"]
pieces = tokens
for _ in range(3):
    pair, count = Counter(zip(pieces, pieces[1:])).most_common(1)[0]
    shorter = merge(pieces, pair)
    print(f"{pair} occurs {count} times: "
          f"{len(pieces)} -> {len(shorter)} tokens")
    assert len(pieces) - len(shorter) == count  # none overlaps itself here
    pieces = shorter
assert "".join(pieces) == text
assert not real or {"e ", " th"} <= set(pieces)

# %% [markdown]
# The third round joins a token made by the second with a letter.
# (Most tokenizers in use first cut the text before each word, so they would not join the `e` with the space after it.)
# After thousands of rounds frequent words are one token and rare words a few.
# GPT-2 (Radford et al., 2019) has 50 257 tokens (256 bytes, 50 000 pairs and an end mark), and gpt-oss (OpenAI, 2025) about 200 000.
# Both start from the bytes of the raw text, so nothing is lost and nothing is unknown; Section 11.10 builds such a tokenizer.
# Research also tries to do without one: the Byte Latent Transformer (Pagnoni et al., 2024) reads bytes, grouped into patches by how predictable they are.
#
# ### A vocabulary
#
# A *vocabulary* numbers the distinct tokens.
# Tokens that it lacks share one index, that of the *unknown token* `<unk>`.
# *Reserved tokens* such as `<pad>` (filling) or `<bos>` (beginning of a sequence) get an index even if no text contains them; the translation models of chapter 10 need them.
# And `min_freq` leaves out what is too rare to learn anything about.

# %% tags=["export"]
class Vocab:
    """Maps tokens to the indices 0, 1, ... and back.

    `tokens` is a list of tokens, or a list of such lists. Tokens that occur
    fewer than `min_freq` times are left out; "<unk>" and those of
    `reserved_tokens` are always in. Indices follow the sorted order of the
    tokens. `token_freqs` lists (token, count), the most frequent first.
    """

    def __init__(self, tokens=(), min_freq=0, reserved_tokens=()):
        if tokens and isinstance(tokens[0], (list, tuple)):
            tokens = [token for line in tokens for token in line]
        self.token_freqs = Counter(tokens).most_common()
        self.idx_to_token = sorted({
            "<unk>", *reserved_tokens,
            *(t for t, n in self.token_freqs if n >= min_freq)})
        self.token_to_idx = {t: i for i, t in enumerate(self.idx_to_token)}

    def __len__(self):
        return len(self.idx_to_token)

    @property
    def unk(self):
        """The index of the unknown token."""
        return self.token_to_idx["<unk>"]

# %% [markdown]
# The defaults are empty tuples for a reason: a default value is created once, when the function is defined, so with `tokens=[]` a method that appends to its argument would hand the tokens of one vocabulary to the next.
#
# Both directions accept a single item or lists, nested to any depth, and return the same form.

# %% tags=["export"]
@add_to_class(Vocab)
def __getitem__(self, tokens):
    """The index of a token, or a list of the same form of indices."""
    if isinstance(tokens, (list, tuple)):
        return [self[token] for token in tokens]
    return self.token_to_idx.get(tokens, self.unk)


@add_to_class(Vocab)
def to_tokens(self, indices):
    """The token of an index, or the list of those of several."""
    if isinstance(indices, torch.Tensor):
        indices = indices.tolist()
    if isinstance(indices, (list, tuple)):
        return [self.to_tokens(index) for index in indices]
    return self.idx_to_token[indices]

# %%
# check 9.2-C3: there and back
vocab = Vocab(tokens)
first = vocab[tokens[:10]]
print(first, vocab.to_tokens(first))
assert vocab.to_tokens(first) == tokens[:10]
assert vocab.to_tokens(vocab[tokens]) == tokens  # the whole book
if real:
    assert first == [21, 9, 6, 0, 21, 10, 14, 6, 0, 14]

# %% [markdown]
# Indices follow the sorted order: 0 is the space, 1 is `<unk>`, and the letters follow.
# Some code in circulation treats a list of one index as a special case and fails on it; ours is tested on one index, on a tensor and on nothing:

# %% tags=["hide-input"]
assert vocab.to_tokens([0, 1, 2]) == [" ", "<unk>", "a"]
small = Vocab([["b", "a"], [], ["b"]], reserved_tokens=["<pad>"])
assert small.idx_to_token == ["<pad>", "<unk>", "a", "b"] and len(small) == 4
assert small.token_freqs == [("b", 2), ("a", 1)]
assert small.unk == 1 and small["z"] == 1 and small["<pad>"] == 0
assert small["b"] == 3 and small[("a", ["b", "?"])] == [2, [3, 1]]
assert small.to_tokens(3) == "b" and small.to_tokens([3]) == ["b"]
assert small.to_tokens([]) == [] and small[[]] == []
assert small.to_tokens(torch.tensor([[2], [3]])) == [["a"], ["b"]]
assert small.to_tokens(torch.tensor(2)) == "a"
assert small.to_tokens((2, [3])) == ["a", ["b"]]

# %% [markdown]
# ### All steps together
#
# `build` chains the steps.
# The result is one long tensor, the *corpus*: the lines of this file are broken at a fixed width, not where sentences end, so they deserve no sequences of their own.

# %% tags=["export"]
@add_to_class(TextData)
def build(self, raw_text, vocab=None):
    """The corpus (T,), indices as a tensor, and its vocabulary.

    With `vocab` tokens that it lacks become "<unk>".
    """
    tokens = self.tokenize(self.preprocess(raw_text))
    if vocab is None:
        vocab = Vocab(tokens)
    return torch.tensor(vocab[tokens], dtype=torch.int64), vocab

# %%
# check 9.2-C4: the corpus that this chapter trains on
corpus, vocab = data.build(raw)
print(tuple(corpus.shape), corpus.dtype, len(vocab))
assert "".join(vocab.to_tokens(corpus)) == text
nothing, empty = data.build("")
assert nothing.dtype == corpus.dtype == torch.int64
assert len(nothing) == 0 and len(empty) == 1
if real:
    assert (len(corpus), len(vocab)) == (173_428, 28)

# %% [markdown]
# The argument `vocab` is there for new text.
# A vocabulary is learned from data like any parameter, so it comes from the *training* text alone; new text must do with it.
# Let the first 90 % of the words be for training:

# %%
# check 9.2-C12: new words become <unk>; vocabularies share nothing
cut = int(0.9 * len(words))
train, rest = words[:cut], words[cut:]
known = Vocab(train)
indices, same = WordData().build(" ".join(rest), known)
missing = [w for w in rest if w not in known.token_to_idx]
types = len(set(missing)) / len(set(rest))
print(f"unknown: {len(missing) / len(rest):.1%} of the words, "
      f"{types:.0%} of the distinct words")
assert same is known and len(indices) == len(rest)
assert (indices == known.unk).sum() == len(missing)
assert set(known[missing]) == {known.unk} and len(Vocab()) == 1
for lines in ([["b"], ["a", "b"]], (("b",), ("a", "b"))):
    assert Vocab(lines).token_freqs == [("b", 2), ("a", 1)]
if real:
    assert abs(len(missing) / len(rest) - 0.082) < 0.001
    assert abs(types - 0.246) < 0.002

# %% [markdown]
# About one word in twelve is new, and so is a quarter of the distinct words of the last tenth.
# With a vocabulary of the whole book the count would be zero, and every model would be tested on words that it was told about.
# With characters nothing is unknown here.
#
# ## What the counts say
#
# ### The commonest words

# %%
# check 9.2-C6: the ten commonest words
word_vocab = Vocab(words)
top = word_vocab.token_freqs[:10]
print(", ".join(f"{word} {n}" for word, n in top))
assert 5 * top[9][1] < top[0][1] or not real
if real:
    assert top == [("the", 2261), ("i", 1267), ("and", 1245), ("of", 1155),
                   ("a", 816), ("to", 695), ("was", 552), ("in", 541),
                   ("that", 443), ("my", 440)]

# %% [markdown]
# Such words are called *stop words*.
# They say little about the topic, and search engines used to drop them; by the account of Manning, Raghavan and Schütze (2008) the trend went from lists of 200 to 300 words to no list at all.
# A language model keeps them, since it must predict them too.
#
# At the other end stand the rare words, and `min_freq` shows how many there are:

# %%
# check 9.2-C10: words that occur at least 1, 2, 5 and 10 times
kept = [len(Vocab(words, min_freq)) - 1 for min_freq in (1, 2, 5, 10)]
print(kept)
once = sum(n == 1 for _, n in word_vocab.token_freqs)
assert kept[0] - kept[1] == once
if real:
    assert kept == [4579, 2182, 824, 399]

# %% [markdown]
# More than half of the distinct words occur only once.
#
# ### Neighbours
#
# To predict a word, a model looks at the words before it.
# A run of $n$ neighbours is an *n-gram*; *bigrams* and *trigrams* have $n=2$ and 3.

# %% tags=["export"]
def ngrams(tokens, n):
    """All runs of n neighbours in a list of tokens, as tuples."""
    return list(zip(*(tokens[i:] for i in range(n))))

# %%
grams = {n: Counter(ngrams(words, n)).most_common() for n in (1, 2, 3)}
assert ngrams("abc", 2) == [("a", "b"), ("b", "c")]
for n in (2, 3):
    print("; ".join(f"{' '.join(g)} {c}" for g, c in grams[n][:10]))

# %%
# check 9.2-C7: the ten commonest bigrams
counts = {" ".join(gram): c for gram, c in grams[2][:10]}
if real:
    assert counts == {"of the": 309, "in the": 169, "i had": 130,
                      "i was": 112, "and the": 109, "the time": 102,
                      "it was": 99, "to the": 85, "as i": 78, "of a": 73}
assert sum(c for _, c in grams[2]) == len(words) - 1

# %%
# check 9.2-C8: the commonest trigrams, before ties begin
if real:
    assert [(" ".join(g), c) for g, c in grams[3][:4]] == [
        ("the time traveller", 59), ("the time machine", 30),
        ("the medical man", 24), ("it seemed to", 16)]
    assert grams[3][4][1] == grams[3][5][1]

# %% [markdown]
# The commonest bigrams are mostly pairs of stop words; among the trigrams the book itself appears.
#
# Our $m$ distinct words allow $m^2$ bigrams and $m^3$ trigrams.
# How many of them does the book contain, and how often?

# %%
# check 9.2-C9: distinct n-grams, and those seen once
seen_once = {}
for n, ranked in grams.items():
    once = sum(c == 1 for _, c in ranked)
    seen_once[n] = once / len(ranked)
    print(f"n = {n}: {len(words) - n + 1} in all, {len(ranked)} distinct of "
          f"{len(word_vocab.token_freqs)**n:.1e}, {seen_once[n]:.0%} once")
assert seen_once[1] < seen_once[2] < seen_once[3]
if real:
    assert [len(ranked) for ranked in grams.values()] == [4579, 20_234,
                                                          29_882]
    assert round(seen_once[1] * 4579) == 2397
    assert abs(seen_once[2] - 0.822) < 1e-3
    assert abs(seen_once[3] - 0.945) < 1e-3

# %% tags=["hide-input"]
reach = {}
for n, ranked in grams.items():
    counts = torch.tensor([c for _, c in ranked], dtype=f64)
    reach[n] = counts.cumsum(0) / counts.sum()
most = [10**(k / 10) for k in range(41)]  # 1 to 10 000
ax = d2l.plot(
    [[round(k) for k in most if round(k) <= len(r)] for r in reach.values()],
    [[r[round(k) - 1].item() for k in most if round(k) <= len(r)]
     for r in reach.values()], ["words", "bigrams", "trigrams"],
    xlabel="number of commonest n-grams", ylabel="share of the text",
    xscale="log", ylim=(0, 1))
d2l.describe(ax, """Three rising curves over the number of commonest n-grams
    from 1 to 10 000, log scale. Ten words cover more than a quarter of the
    text and a hundred more than half; a thousand bigrams cover about a third,
    and a thousand trigrams about a tenth.""")
print(f"10 words cover {reach[1][9]:.1%}, 100 words {reach[1][99]:.1%}; "
      f"1000 trigrams {reach[3][999]:.1%}")
if real:
    assert abs(reach[1][9] - 0.287) < 1e-3
    assert abs(reach[1][99] - 0.560) < 1e-3
    assert 0.3 < reach[2][999] < 0.35 and 0.09 < reach[3][999] < 0.11

# %% [markdown]
# **Figure 9.2.3.** Share of the text that consists of the commonest words, bigrams and trigrams.
# A hundred words make up more than half of it, a thousand trigrams about a tenth.

# %% [markdown]
# Of the distinct trigrams in this book, about 19 in 20 were seen once.
# That is little to learn from, and of little use later, as the last tenth of the book shows:

# %%
fresh = {}
for n in (1, 2, 3):
    seen, later = set(ngrams(train, n)), ngrams(rest, n)
    fresh[n] = sum(gram not in seen for gram in later) / len(later)
    print(f"n = {n}: {fresh[n]:.0%} of the last tenth was not seen before")
assert fresh[1] == len(missing) / len(rest)
assert fresh[1] < fresh[2] < fresh[3]
assert not real or 0.48 < fresh[2] < 0.54 and fresh[3] > 0.85

# %% [markdown]
# About half of the bigrams and more than four fifths of the trigrams are new, so a model that only looks up counts has no count for them.
# [Section 9.3](03-language-models.ipynb) shows how to smooth counts, and gets strong baselines from them.
# With far more text long n-grams become useful again: infini-gram (Liu et al., 2024) counts n-grams of any length in 5 trillion tokens, and neural models that are combined with these counts reach a lower perplexity.

# %% [markdown]
# ### Zipf's law
#
# Order the words by falling count, so that $n_i$ is the count of the word of *rank* $i=1,2,\dots$
# The law that bears Zipf's name says that counts fall like a power of the rank,
#
# $$n_i\propto i^{-\alpha},\qquad\text{that is}\qquad \log n_i=-\alpha\log i+c. \tag{9.2.1}$$
#
# Here $\alpha>0$ is the *exponent*, near 1 for words, and $c$ a constant; in a plot with two logarithmic axes the law is a straight line of slope $-\alpha$.
# Its first mention is traced to Estoup (1916), long before the books of Zipf (Lafouge, Agouzal and Boidin-Lallich, 2015).
#
# For a number, take $\alpha=1$: the word of rank 100 should have a tenth of the count of the word of rank 10.

# %%
freqs = [n for _, n in word_vocab.token_freqs]
print(f"rank 10: {freqs[9]}, so rank 100 should have {freqs[9] / 10:.0f}; "
      f"it has {freqs[99]}")
assert not real or abs(10 * freqs[99] / freqs[9] - 1) < 0.03

# %% [markdown]
# We estimate $\alpha$ by a least-squares line through a window of ranks.
# For the characters of the book, too few for such a line, the next check computes the *entropy* $-\sum_jp_j\log_2p_j$, in bits, where $p_j$ is the share of character $j$; it would be $\log_227\approx4.75$ if all 27 were equally frequent.

# %% tags=["export"]
def zipf_exponent(freqs, lo, hi):
    """Minus the slope of log frequency against log rank.

    `freqs` are counts in falling order, the first of rank 1; the line is
    fitted by least squares to the ranks from `lo` to `hi`, both included.
    """
    ranks = torch.arange(lo, hi + 1, dtype=torch.float64)
    x = ranks.log()
    y = torch.tensor(freqs[lo - 1:hi], dtype=torch.float64).log()
    x = x - x.mean()
    return -(x @ y / (x @ x)).item()

# %%
# check 9.2-C11: exponents over ranks 10 to 1000, entropy of characters
exact = [i**-1.5 for i in range(1, 101)]  # a law to the letter
assert abs(zipf_exponent(exact, 3, 100) - 1.5) < 1e-12
assert abs(zipf_exponent([7, 4, 1], 1, 2) - 0.80735) < 1e-4  # log2(7 / 4)
slopes = [zipf_exponent([c for _, c in ranked], 10, 1000)
          for ranked in grams.values()]
shares = torch.tensor([n for _, n in vocab.token_freqs], dtype=f64)
shares /= shares.sum()
entropy = -(shares * shares.log2()).sum().item()
print("exponents", [round(slope, 2) for slope in slopes],
      f"entropy {entropy:.3f} bits")
if real:
    for slope, expected in zip(slopes, (1.04, 0.69, 0.47)):
        assert abs(slope - expected) < 0.01
    assert abs(entropy - 4.078) < 1e-3 and len(shares) == 27

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5, 3.4))
points = sorted({round(10**(k / 20)) for k in range(100)})
for (n, ranked), slope, style in zip(grams.items(), slopes, "os^"):
    shown = [i for i in points if i <= len(ranked)]
    ax.loglog(shown, [ranked[i - 1][1] for i in shown], style, ms=3,
              color=f"C{n - 1}", label=f"n = {n}")
    ends = torch.tensor([10.0, 1000.0], dtype=f64)
    logs = torch.tensor([c for _, c in ranked[9:1000]], dtype=f64).log()
    middle = torch.arange(10, 1001, dtype=f64).log().mean()
    fit = (logs.mean() - slope * (ends.log() - middle)).exp()
    ax.plot(ends, fit, "k-", lw=1)
ax.set(xlabel="rank", ylabel="count")
ax.legend()
d2l.describe(ax, """Counts against ranks on logarithmic axes for words,
    bigrams and trigrams: three falling curves, flatter the larger n, with
    lines fitted between rank 10 and 1000; on the right end each curve turns
    into flat steps, the last at the count 1.""")

# %% [markdown]
# **Figure 9.2.4.** Counts of words, bigrams and trigrams by rank, with lines fitted to ranks 10 to 1000.
# Longer n-grams give flatter curves, and each ends in a plateau of ones.

# %% [markdown]
# The characters of Figure 9.2.2 are uneven too: about 4.1 bits of entropy instead of 4.75.
#
# The exponents should be read with care.
# The curves are not straight, so their slopes depend on the window.
# Even between ranks 10 and 100, whose own counts agree so well with $\alpha=1$, the line fitted to all 91 ranks is flatter:

# %%
print("ranks     10-100  100-1000  count > 1       all")
table = {}
for n, ranked in grams.items():
    counts = [c for _, c in ranked]
    repeated = sum(c > 1 for c in counts)
    table[n] = [zipf_exponent(counts, *window) for window in
                ((10, 100), (100, 1000), (1, repeated), (1, len(counts)))]
    print(f"n = {n}" + "".join(f"{a:10.2f}" for a in table[n]))
if real:
    assert 0.85 < table[1][0] < 0.92 and table[1][0] + 0.15 < table[1][1]
    for row, expected in zip(table.values(), (1.04, 0.46, 0.16)):
        assert abs(row[3] - expected) < 0.006
    assert abs(table[2][2] / table[2][3] - 1.4) < 0.05
    assert table[3][2] > 2.2 * table[3][3]
    assert abs(table[1][2] - table[1][3]) < 0.02 and seen_once[1] > 0.5

# %% [markdown]
# Over all ranks bigrams and trigrams get a far smaller exponent than in Figure 9.2.4.
# Most of these ranks lie on the plateau of ones; without it (third column) the exponent is about 1.4 times as large for bigrams and more than twice as large for trigrams.
# For words, though half of their ranks lie there too, leaving it out changes next to nothing.
# A least-squares line on logarithmic axes is a description, and no test of a power law: Clauset, Shalizi and Newman (2009) show how far such estimates can be off.
# With likelihoods and tests, Moreno-Sánchez, Font-Clos and Corral (2016) found a version of the law that is not rejected for more than 40 % of the English books in Project Gutenberg.

# %% [markdown]
# ### Heaps' law
#
# How fast do new words come?
# Let $V(n)$ be the number of distinct words among the first $n$.
# The law of Herdan (1960) and Heaps (1978) says
#
# $$V(n)=Kn^\beta,\qquad\text{so}\qquad \beta=\log_2\frac{V(2n)}{V(n)}, \tag{9.2.2}$$
#
# with constants $K>0$ and $0<\beta<1$.
# With $\beta=\frac12$ a text must be four times as long for twice the vocabulary.
#
# What would $V$ be if the same words came in random order?
# A word that occurs $c_j$ times among the $N$ is absent from the first $n$ if all its places are among the other $N-n$.
# So the expected value over all orders is
#
# $$E[V(n)]=\sum_{j=1}^{m}\left[1-\binom{N-c_j}{n}\Big/\binom Nn\right], \tag{9.2.3}$$
#
# where $m=V(N)$ is the number of distinct words.
# For the text "a a b" and $n=2$ the terms are $1-0/3$ and $1-1/3$; the three orders aab, aba, baa show 1, 2 and 2 distinct words, on average $5/3$.

# %%
def growth(words):
    """Distinct words among the first 1, 2, ..., N: a tensor (N,)."""
    seen, sizes = set(), []
    for word in words:
        seen.add(word)
        sizes.append(len(seen))
    return torch.tensor(sizes, dtype=f64)


def log_choose(n, k):
    """log of "n choose k", minus infinity for k > n."""
    n, k = torch.as_tensor(n, dtype=f64), torch.as_tensor(k, dtype=f64)
    return (n + 1).lgamma() - (k + 1).lgamma() - (n - k + 1).lgamma()


def expected_growth(words, sizes):
    """The expectation (9.2.3) for each number n in `sizes`."""
    counts = torch.tensor(list(Counter(words).values()))
    n = torch.tensor(sizes)[:, None]  # (len(sizes), 1)
    absent = log_choose(len(words) - counts, n) - log_choose(len(words), n)
    return (1 - absent.exp()).sum(dim=1)


assert growth("aab").tolist() == [1, 1, 2]
torch.testing.assert_close(expected_growth("aab", [1, 2, 3]),
                           torch.tensor([1, 5 / 3, 2], dtype=f64))

# %% [markdown]
# We ask two more authors, with the same number of words for each: Jane Austen (six novels) and Shakespeare (parts of plays).
# The file of Shakespeare puts a line with the name of the speaker before each speech; these lines are not the author's sentences, and we drop them.

# %%
books = {author: read_text(name) for name, author in names.items()}
named = books["Shakespeare"]  # with the speakers
books["Shakespeare"], dropped = re.subn(r"(^|\n\n).+:(?=\n)", r"\1", named)
assert dropped == len(named.split("\n\n"))  # one name for each speech
texts = {author: WordData().tokenize(data.preprocess(book))
         for author, book in books.items()}
for author, t in texts.items():
    print(f"{author:12} {len(t):6} words")

# %%
N = 32_000  # words; the novel of Wells has little more
doubling = [500 * 2**k for k in range(7)]  # 500, 1000, ..., N
actual = {author: growth(t[:N]) for author, t in texts.items()}
random_order = {author: expected_growth(t[:N], doubling)
                for author, t in texts.items()}
own = {}  # slopes of the texts themselves
print("slope from n to 2n" + "".join(f"{n:7}" for n in doubling[:-1]))
for author, V in random_order.items():
    beta = (V[1:] / V[:-1]).log2()
    V_own = actual[author][[n - 1 for n in doubling]]
    own[author] = (V_own[1:] / V_own[:-1]).log2()
    for kind, values in (("random", beta), ("own", own[author])):
        print(f"{author:12}{kind:6}" + "".join(f"{b:7.2f}" for b in values))
    assert (beta.diff() < 0).all()
    assert abs(V[-1] - V_own[-1]) < 1e-6
    assert not real or beta[0] > 0.67 and beta[-1] < 0.6

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1))
every = torch.arange(250, N + 1, 50)  # 250, 300, ..., N
relative = {}  # to random order
for k, author in enumerate(texts):
    V = actual[author][every - 1]
    EV = expected_growth(texts[author][:N], every.tolist())
    axes[0].loglog(every, V, color=f"C{k}", label=author)
    axes[0].loglog(every, EV, "--", color=f"C{k}", lw=1)
    relative[author] = V / EV
    axes[1].semilogx(every, relative[author], color=f"C{k}")
axes[0].plot([], [], "k--", lw=1, label="random order")
axes[0].set(xlabel="words read", ylabel="distinct words")
axes[0].legend(fontsize=8)
axes[1].axhline(1, color="k", ls="--", lw=1)
axes[1].set(xlabel="words read", ylabel="relative to random order")
d2l.describe(axes, """Left, distinct words against words read, both on
    logarithmic axes, for Wells, Austen and Shakespeare. All curves rise and
    bend slightly; Wells ends highest, Austen lowest. Right, the same curves
    divided by the expectation for random order: they lie between 0.79 and
    1.01, mostly below 1, and all end at 1.""")

# %% [markdown]
# **Figure 9.2.5.** Left: vocabulary of the first 32 000 words of each text; the dashed curves are (9.2.3).
# Right: the same, relative to (9.2.3).

# %% [markdown]
# How far is the order of the author from random order, and is it so in other parts of the texts, too?

# %%
def cut_up(words, size):
    """The whole parts of `size` words of a list, in order."""
    return [words[i:i + size] for i in range(0, len(words) - size + 1, size)]


assert cut_up("abcde", 2) == ["ab", "cd"]
assert cut_up("abcd", 2) == ["ab", "cd"] and cut_up("a", 2) == []

# %%
rng = torch.Generator().manual_seed(0)
lags, steps, drawn = [], [], []  # one entry for each part of N words
for t in texts.values():
    for part in cut_up(t, N):
        V = growth(part)[[n - 1 for n in doubling]]
        lags.append(V[:-1] < expected_growth(part, doubling[:-1]))
        steps.append((V[1:] / V[:-1]).log2())
        order = torch.randperm(N, generator=rng).tolist()
        V = growth([part[i] for i in order])[[n - 1 for n in doubling]]
        drawn.append((V[1:] / V[:-1]).log2())
lags, steps = torch.stack(lags), torch.stack(steps)  # (parts, 6) both
chance = (torch.stack(drawn).diff() < 0).all(dim=1).sum()  # after shuffling
lagging, steady = lags.sum(dim=0), (steps.diff() < 0).all(dim=1)
for author, ratio in relative.items():
    print(f"{author:12} {ratio.min():.2f} to {ratio.max():.2f} of random "
          f"order, below it at {(ratio[:-1] < 1).float().mean():.0%}")
print(f"of {len(lags)} parts lag after {doubling[:-1]} words: "
      f"{lagging.tolist()}")
print(f"slope falls at each doubling in {steady.sum()} part, from first to "
      f"last in {(steps[:, -1] < steps[:, 0]).sum()}; "
      f"shuffled, at each in {chance}")
if real:
    for ratio in relative.values():
        assert 0.79 < ratio.min() and ratio.max() < 1.01
        assert (ratio < 1).float().mean() > 0.7
    assert len(lags) == 29 and (lagging[:5] > 0.8 * len(lags)).all()
    assert lagging.max() < len(lags) and lagging[5] / len(lags) < 0.7
    assert steady.sum() == 1 and (steps[:, -1] < steps[:, 0]).all()
    assert 5 < chance < 20
    assert own["Wells"][3] > own["Wells"][0] + 0.1  # from 4000, from 500

# %% [markdown]
# Three things can be said.
#
# - With the words of each first part in *random order* the slope of the expectation falls at each doubling, from about 0.7 or more to below 0.6. The texts' own slopes jump up and down: that of Wells is larger from 4000 to 8000 words than from 500 to 1000, and of all 29 parts of 32 000 words the slope of only one falls at each doubling. Some of this is chance: when each part is shuffled once, the slope falls at each doubling in fewer than 20 of them. But in each of the 29, unshuffled, the last slope is smaller than the first. So a value of $\beta$ means something only together with the length of the text, and one doubling says little; Fontanelli and Li (2025) report such a bend for twenty English texts.
# - The counts alone, without the order, predict the curve to about a fifth: at every fiftieth word from 250 on, each of the three first parts has at least 79 % of the expected vocabulary, and at most 1 % more.
# - Most of the time the texts lag behind random order: their first $n$ words repeat one another more than $n$ words drawn at random do on average. At each of our lengths up to 8000 words more than four fifths of the 29 parts lag, but never all; Chacoma and Zanette (2020) found such a lag to prevail in 75 works of six writers.

# %% [markdown]
# ### Three authors
#
# Do such numbers tell authors apart?
# A fair comparison takes the same number of words from each, and more than one part of each, since a difference between authors counts only beside the spread within an author.
# We cut each text into parts of 8000 words: 4 of Wells, 91 of Austen, 24 of Shakespeare.
# Of each part we take the exponent of Zipf over two windows of ranks, that of Heaps between 1000 and 8000 words (three doublings), the number of distinct words, and the share of the ten commonest words.
# As a control we also cut up the same words after shuffling them: what spread is left then is the chance of drawing 8000 words.

# %%
def measure(words):
    """Five statistics of a list of words; see `statistics`."""
    freqs = [n for _, n in Counter(words).most_common()]
    V = growth(words)
    beta = (V[-1] / V[len(words) // 8 - 1]).log2() / 3
    return [zipf_exponent(freqs, 10, 300), zipf_exponent(freqs, 10, 100),
            beta.item(), len(freqs), sum(freqs[:10]) / len(words)]


fake = measure([str(i) for i in range(800)])  # no word twice
torch.testing.assert_close(fake, [0.0, 0.0, 1.0, 800, 10 / 800])

statistics = ("Zipf exponent, ranks 10-300", "Zipf exponent, ranks 10-100",
              "Heaps exponent", "distinct words",
              "share of the ten commonest")


def measure_parts(words, size):
    """The statistics of each whole part of `size` words: (parts, 5)."""
    return torch.tensor([measure(part) for part in cut_up(words, size)])

# %%
size = 8000
rng = torch.Generator().manual_seed(0)
parts, shuffled = {}, {}
for author, t in texts.items():
    order = torch.randperm(len(t) // size * size, generator=rng).tolist()
    parts[author] = measure_parts(t, size)
    shuffled[author] = measure_parts([t[i] for i in order], size)
    print(f"{author}, {len(parts[author])} parts")
    for j, name in enumerate(statistics):
        print(f"  {name:28}" + "".join(
            f"{values.mean():8.4g} ± {values.std():<6.2g}" for values in
            (parts[author][:, j], shuffled[author][:, j])))

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(7.2, 4.2), sharey=True)
for ax, j in zip(axes.flat, (0, 2, 3, 4)):
    for k, author in enumerate(texts):
        for kind, shift, style in ((parts, -0.17, "o"), (shuffled, 0.17, "|")):
            values = kind[author][:, j]
            ax.plot(values, [k + shift] * len(values), style, ms=4,
                    color=f"C{k}", alpha=0.6)
    ax.set(xlabel=statistics[j], ylim=(2.6, -0.6))
    ax.set_yticks(range(3), texts)
d2l.describe(axes, """Four panels with a row of dots for each author, one dot
    for each part of 8000 words, and below it a row of strokes for the shuffled
    words, which are closer together except in the Zipf exponent of Wells. In
    the Zipf exponent Wells lies below all parts of Austen, and Shakespeare
    overlaps both. In the Heaps exponent and the number of distinct words all
    three overlap. In the
    share of the ten commonest words Shakespeare is lowest, Wells highest,
    with little overlap.""")

# %% [markdown]
# **Figure 9.2.6.** Four statistics of parts of 8000 words (dots), and of the same words shuffled (strokes, lower rows).

# %% [markdown]
# Do other lengths of the parts give the same answer?
# For each of the five statistics we measure how far apart the two authors are whose means are closest, in units of the larger standard deviation of their parts.

# %%
def distance(one, two):
    """Distance of means in units of the larger standard deviation: (5,)."""
    spread = torch.maximum(one.std(dim=0), two.std(dim=0))
    return (one.mean(dim=0) - two.mean(dim=0)).abs() / spread


W, A, S = texts  # the three names
closest, means, reached = {}, {}, {}
for length in (4000, size, 16_000):
    at = {author: measure_parts(t, length) for author, t in texts.items()}
    means[length] = torch.stack([p.mean(dim=0) for p in at.values()])
    closest[length] = torch.stack([distance(*pair) for pair in combinations(
        at.values(), 2)]).amin(dim=0)  # of the three pairs
    reached[length] = (at[A][:, 0] < at[W][:, 0].max()).double().mean()
    print(f"{length:5} words: closest pair " + ", ".join(
        f"{d:.1f}" for d in closest[length]) +
        f"; {reached[length]:.0%} of Austen below the highest of Wells")
    print("    mean exponents, Zipf and Heaps: " + ", ".join(
        f"{zipf:.3f} {heaps:.3f}" for zipf, heaps in
        means[length][:, [0, 2]].tolist()))

# %% tags=["hide-input"]
low = {author: p.amin(dim=0) for author, p in parts.items()}  # (5,) each
high = {author: p.amax(dim=0) for author, p in parts.items()}
toy = torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [5.0]])
assert abs(distance(*toy).item() - 4 / 2**0.5) < 1e-6
if real:
    assert [len(p) for p in parts.values()] == [4, 91, 24]
    assert reached[4000] > 0.2 and reached[size] == reached[16_000] == 0
    assert high[W][1] > low[A][1] + 0.03  # other ranks: overlap
    for j in range(2):
        assert low[S][j] < high[W][j] and high[S][j] > low[A][j]
    for j in (2, 3):
        assert max(v[j] for v in low.values()) < min(v[j] for v in
                                                     high.values())
    assert all(d.argmax() == 4 for d in closest.values())
    assert abs(closest[4000][4] - 2) < 0.1 and closest[size][4] > 2.3
    assert closest[size][:4].max() < 1.6 and closest[16_000][3] > 2
    assert high[A][4] > low[W][4] and high[S][4] > low[A][4]
    for short, long in ((4000, size), (size, 16_000)):
        rise = means[long] - means[short]
        assert (rise[:, 0] > 0.01).all() and (rise[:, 2] < -0.005).all()

# %%
with_names = measure_parts(WordData().tokenize(data.preprocess(named)), size)
moved = with_names.mean(dim=0) - parts[S].mean(dim=0)
print("names of speakers: " + ", ".join(f"{m:+.3g}" for m in moved))
if real:
    assert -0.05 < moved[1] < -0.03 and -60 < moved[3] < -30
    for author in texts:
        own, mixed = parts[author][:, 3], shuffled[author][:, 3]
        assert mixed.std() < own.std() / 2 and own.mean() < mixed.min()
    assert shuffled[W][:, 0].std() > 1.3 * parts[W][:, 0].std()

# %% [markdown]
# What was seen, for parts of 8000 words unless another length is named:
#
# - Over ranks 10 to 300 the exponent of every part of Wells is below that of every part of Austen, and so it is with parts of 16 000 words, of which Wells has two. But of Austen's parts of 4000 words more than a fifth lie below the highest of Wells. Over ranks 10 to 100 the two overlap, and Shakespeare overlaps with both over either window.
# - In the Heaps exponent and in the number of distinct words all three overlap.
# - At all three lengths the closest two authors are farthest apart in the share of the ten commonest words. But which distances exceed 2 depends on the length: at 8000 words this share alone, at 16 000 the number of distinct words as well, if barely. And even at 8000 words the extreme parts of Wells and Austen, and of Austen and Shakespeare, overlap in it.
# - The exponents depend on the length as well: from 4000 to 8000 to 16 000 words, for each author the mean exponent of Zipf rises over the same ranks 10 to 300, and that of Heaps, over the last three doublings, falls.
# - In the number of distinct words the parts differ from words drawn by chance: on average an author's parts have fewer of them than any shuffled part, and for Austen and Shakespeare the standard deviation after shuffling is less than half. This is not so in every statistic: the Zipf exponents of Wells over ranks 10 to 300 spread more after this shuffling, and four numbers say little about a spread.
# - One decision in the cleaning counts too: with the names of the speakers, Shakespeare's exponent over ranks 10 to 100 falls by more than 0.03, and a part has on average more than 30 fewer distinct words.
#
# This does not show that the differences are traits of *authors*: each text has its own genre, century and edition, and four parts of a single book say little about Wells in general.

# %% [markdown]
# ## Summary
#
# - Text becomes data by cleaning, tokens, a vocabulary and indices. Cleaning loses what it drops for good; a good tokenizer loses nothing.
# - The vocabulary belongs to the training text. In this book one word in twelve of the last tenth is missing from the rest.
# - A hundred words make up more than half of this book, but more than half of its distinct words and about 19 in 20 distinct trigrams occur once, so counting starves on it.
# - Zipf's and Heaps' laws hold roughly. Both exponents depend on the window and on the length of the text, and are compared at equal lengths or not at all.
# - Between the texts of three authors some statistics differ by more than the spread within each, others do not, and which ones do depends on the length of the parts; one part per author could not tell.

# %% [markdown]
# ## Exercises
# %% [markdown]
# ### Exercise 9.2-1
#
# How does the size of the vocabulary fall with `min_freq`?
# Predict it from Zipf's law with a line fitted to ranks 10 to 1000, and compare.
# Which share of the text becomes `<unk>`?

# %% [markdown]
# #### Solution 9.2-1

# %% [markdown]
# A word has a count of at least $f$ if its rank is at most the $i$ with $n_i=f$.
# By (9.2.1) with $n_i=e^ci^{-\alpha}$ this is $i=(e^c/f)^{1/\alpha}$.
# The line goes through the mean of the points, which gives $c$.

# %%
alpha = zipf_exponent(freqs, 10, 1000)
inside = torch.tensor(freqs[9:1000], dtype=f64).log()
c = (inside.mean() + alpha * torch.arange(10, 1001, dtype=f64).log().mean())
deviation = {}
for f in (1, 2, 5, 10, 20, 50):
    counted = len(Vocab(words, f)) - 1
    predicted = ((c.exp() / f) ** (1 / alpha)).item()
    unknown = sum(n for n in freqs if n < f) / len(words)
    deviation[f] = predicted / counted - 1
    print(f"min_freq {f:2}: {counted:4} words, predicted {predicted:5.0f}; "
          f"{unknown:.1%} unknown")
    indices, _ = WordData().build(text, Vocab(words, f))
    assert (indices == Vocab(words, f).unk).sum() == round(unknown
                                                           * len(words))
if real:
    assert max(abs(deviation[f]) for f in (5, 10, 20, 50)) < 0.1
    assert deviation[1] < deviation[2] < -0.15
    assert sum(n == 1 for n in freqs) < 0.1 * len(words)
    assert (freqs[9], freqs[999]) == (440, 4)
assert abs(alpha - slopes[0]) < 1e-12

# %% [markdown]
# Within the window, where counts run from 440 down to 4, the prediction is right to a tenth.
# Outside, for a `min_freq` of 1 or 2, it is too low by more than 15 %: the curve does not follow the line there.
# Dropping the words that occur once halves the vocabulary and makes less than a tenth of the text unknown.

# %% [markdown]
# ### Exercise 9.2-2
#
# Fit exponents for 4-grams and 5-grams over the same window.
# What do they still describe?

# %% [markdown]
# #### Solution 9.2-2

# %% [markdown]
# The exponents go on falling, but the line describes next to nothing: of the ranks in the window more than nine in ten have the count 1 or 2, so the fit sees a few steps.
# For trigrams it was already half of them.

# %%
few, flatter = {}, []
for n in (3, 4, 5):
    counts = [c for _, c in Counter(ngrams(words, n)).most_common()]
    few[n] = sum(c <= 2 for c in counts[9:1000]) / 991
    flatter.append(zipf_exponent(counts, 10, 1000))
    print(f"n = {n}: exponent {flatter[-1]:.2f}, "
          f"{few[n]:.0%} of the ranks with counts 1 and 2")
    assert len(counts) <= len(words) - n + 1
assert few[3] < few[4] < few[5] and flatter[0] > flatter[1] > flatter[2]
assert not real or few[3] > 0.5 and few[4] > 0.9

# %% [markdown]
# ### Exercise 9.2-3
#
# Which is the shorter description of the book, characters or words?
# Count tokens, then bits: give each token $\log_2|\mathcal V|$ bits, then as many as the entropy of the shares says.
# Do not forget to send the list of words as well, and for the entropy the counts.

# %% [markdown]
# #### Solution 9.2-3

# %% [markdown]
# Words make the sequence about five times shorter, but each costs more bits.
# In sum, words are cheaper, even with the list, whose letters we pay at the entropy of characters, and the counts, which we pay at the entropy of the counts.
# (For 27 characters both come to less than 1 kbit, which we leave out.)

# %%
def bits(tokens):
    """Bits for a list: with equal codes, and by the entropy of shares."""
    counts = torch.tensor(list(Counter(tokens).values()), dtype=f64)
    shares = counts / counts.sum()
    n, m = len(tokens), len(counts)
    return n * math.log2(m), -n * (shares * shares.log2()).sum().item()


assert bits("abab") == (4, 4)
assert abs(bits("aaab")[1] - 3.245) < 1e-3
listed = sum(len(word) + 1 for word in set(words)) * entropy
total = {"characters": bits(tokens)[1],
         "words": bits(words)[1] + listed + bits(freqs)[1]}
for kind, units in (("characters", tokens), ("words", words)):
    equal, by_share = bits(units)
    print(f"{kind:10} {len(units):6} tokens, {equal / 1000:4.0f} kbit equal, "
          f"{by_share / 1000:4.0f} by entropy, {total[kind] / 1000:4.0f} "
          "with the list and the counts")
    assert by_share < equal
assert total["words"] < total["characters"]
assert bits(words)[0] + listed < bits(tokens)[0]
assert not real or 5 < len(tokens) / len(words) < 5.5

# %% [markdown]
# Neither looks at the order of the tokens.
# A model that does, as in Section 9.3, spends fewer bits on the same characters.

# %% [markdown]
# ### Exercise 9.2-4
#
# Which share of the words in the last 10 % of the book is unknown if the vocabulary comes from the 10, 20, 40, 60 or 90 % before it?
# And if it comes from the six novels of Austen instead, or from both?

# %% [markdown]
# #### Solution 9.2-4

# %% [markdown]
# We take the text directly before the last tenth, so that only the amount changes.

# %%
def unknown_share(train, test):
    """The share of the words `test` that `train` lacks."""
    vocab = Vocab(train)
    return sum(vocab[w] == vocab.unk for w in test) / len(test)


rates = []
for tenths in (1, 2, 4, 6, 9):
    amount = tenths * len(words) // 10
    rates.append(unknown_share(train[-amount:], rest))
    print(f"{tenths} tenths of the book: {rates[-1]:.1%} unknown")
austen_only = unknown_share(texts["Austen"], rest)
both = unknown_share(train + texts["Austen"], rest)
print(f"Austen alone {austen_only:.1%}, both {both:.1%}")
assert all(a >= b for a, b in zip(rates, rates[1:])) and both <= austen_only
tenth = len(tokens) // 10
assert unknown_share(tokens[-2 * tenth:-tenth], tokens[-tenth:]) == 0
if real:
    assert abs(rates[0] - 0.261) < 1e-3 and rates[0] > 3 * rates[-1]
    assert abs(rates[-1] - 0.082) < 1e-3
    assert both < 0.6 * rates[-1] and 0.8 < austen_only / rates[-1] < 1

# %% [markdown]
# From one tenth to nine the rate falls to less than a third.
# Austen's novels, more than twenty times as long, are about as good alone as nine tenths of the book itself; together they leave about half.
# No character is unknown.

# %% [markdown]
# ### Exercise 9.2-5
#
# Write a tokenizer that loses nothing: from its tokens the raw text must come back exactly.
# Prove it, and test it on all three texts.
# What remains lost, and how do bytes avoid that?

# %% [markdown]
# #### Solution 9.2-5

# %% [markdown]
# Skip the cleaning, and let the tokens be runs of letters and single other characters.
# At every position the next character is either a letter, which the first pattern matches, or not, which the second matches.
# So each match begins where the one before ended, the matches cover the text, and joining them gives it back.

# %%
class LosslessData(TextData):
    def preprocess(self, text):
        return text

    def tokenize(self, text):
        return re.findall(r"[A-Za-z]+|[^A-Za-z]", text)


lossless = LosslessData()
for name in names:
    book = read_text(name)
    indices, everything = lossless.build(book)
    assert "".join(everything.to_tokens(indices)) == book
    print(f"{name:16} {len(indices):7} tokens, {len(everything):5} distinct")
assert lossless.tokenize("I don't, 42") == ["I", " ", "don", "'", "t", ",",
                                            " ", "4", "2"]

# %% [markdown]
# Tokens of a *new* text still become `<unk>` if the vocabulary lacks them.
# The 256 values of a byte are a vocabulary that lacks nothing, for any language:

# %%
sample = "naïve 數據 🙂"
with_unk = lossless.build(sample, everything)
assert "<unk>" in with_unk[1].to_tokens(with_unk[0])
as_bytes = torch.tensor(list(sample.encode()))
assert bytes(as_bytes.tolist()).decode() == sample
assert as_bytes.max() < 256 and len(as_bytes) > len(sample)
print(f"{len(sample)} characters, {len(as_bytes)} bytes")

# %% [markdown]
# ## Sources
#
# - R. Sennrich, B. Haddow, A. Birch (2016). Neural machine translation of rare words with subword units. [arXiv:1508.07909](https://arxiv.org/abs/1508.07909): byte-pair encoding for tokens.
# - P. Gage (1994). A new algorithm for data compression. The C Users Journal 12(2): byte-pair encoding for compression.
# - A. Radford et al. (2019). Language models are unsupervised multitask learners. [PDF](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf): GPT-2 and its tokens.
# - OpenAI (2025). gpt-oss-120b and gpt-oss-20b model card. [arXiv:2508.10925](https://arxiv.org/abs/2508.10925): a tokenizer of 201 088 tokens.
# - A. Pagnoni et al. (2024). Byte Latent Transformer: patches scale better than tokens. [arXiv:2412.09871](https://arxiv.org/abs/2412.09871).
# - C. D. Manning, P. Raghavan, H. Schütze (2008). Introduction to Information Retrieval, section [Dropping common terms: stop words](https://nlp.stanford.edu/IR-book/html/htmledition/dropping-common-terms-stop-words-1.html).
# - J. Liu et al. (2024). Infini-gram: scaling unbounded n-gram language models to a trillion tokens. [arXiv:2401.17377](https://arxiv.org/abs/2401.17377).
# - T. Lafouge, A. Agouzal, G. Boidin-Lallich (2015). The deconstruction of a text: the permanence of the generalized Zipf law. Scientometrics 104. [doi:10.1007/s11192-015-1600-z](https://doi.org/10.1007/s11192-015-1600-z): on Estoup (1916).
# - A. Clauset, C. R. Shalizi, M. E. J. Newman (2009). Power-law distributions in empirical data. SIAM Review 51(4). [arXiv:0706.1062](https://arxiv.org/abs/0706.1062).
# - I. Moreno-Sánchez, F. Font-Clos, Á. Corral (2016). Large-scale analysis of Zipf's law in English texts. [arXiv:1509.04486](https://arxiv.org/abs/1509.04486).
# - O. Fontanelli, W. Li (2025). Quadratic term correction on Heaps' law. [arXiv:2511.14683](https://arxiv.org/abs/2511.14683): the bend, and the origin of the law with Herdan (1960) and Heaps (1978).
# - A. Chacoma, D. H. Zanette (2020). Heaps' law and Heaps functions in tagged texts: evidences of their linguistic relevance. [arXiv:2001.02178](https://arxiv.org/abs/2001.02178).
