# ---
# jupyter:
#   d2l:
#     data: [wikitext-2, bert-vocab]
#     profiles:
#       gpu: {}
#       smoke:
#         seeds: 1
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
# # 15.9 The dataset for pretraining BERT
#
# [Section 15.8](08-bert.ipynb) built a model that wants texts with holes and pairs of sentences with a label.
# No one writes these labels: a program cuts them out of plain text, in a few lines whose mistakes are easy to miss, because a network trains on wrong labels just as quietly.
# This section writes the program, tests each promise that it makes, and asks what the second task, next sentence prediction, really measures.
#
# **You will**
#
# - turn paragraphs into pairs of sentences, about half of them neighbours, and keep neighbours out of the rest;
# - mask a fixed number of tokens in each text, never a special one, all texts of a batch at once;
# - serve three kinds of text in one form of batch, with masks drawn once or anew for each epoch;
# - measure how far next sentence prediction can be solved without reading sentences.
#
# **Cost**: less than half a minute on a CPU, no use of a GPU; downloads of about 3 MB, once.

# %%
import math
import re
from dataclasses import replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import mask_tokens
from d2l_helpers.chapters.linear_regression import (
    DataModule, add_to_class)
from d2l_helpers.chapters.nlp_pretraining import tokens_and_segments
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import ToyWorld, paragraphs
from d2l_helpers.wordpiece import WordPiece

d2l.use_style()

# %% tags=["parameters"]
seed = 0
seeds = 3  # draws of pairs for each kind of negatives

# %% [markdown]
# ## What an example is
#
# An example of BERT holds two texts, marked as in [Section 15.8](08-bert.ipynb), with some tokens replaced, and what is needed to compute two losses.

# %% tags=["hide-input"]
example = ("the big dog waits near the river .".split(),
           "the animal is old .".split())
tokens, segments = tokens_and_segments(*example)
changed = {3: "<mask>", 12: "hill"}  # by hand, for this picture
rows = {"text": tokens, "input": [changed.get(i, t) for i, t
                                  in enumerate(tokens)],
        "segment": segments, "label": [t if i in changed else "" for i, t
                                       in enumerate(tokens)]}
_, ax = plt.subplots(figsize=(7.2, 1.9))
for y, (name, row) in enumerate(rows.items()):
    for x, cell in enumerate(row):
        fill = ("#FBE3B5" if x in changed and name != "segment" else
                "#D5D5D5" if tokens[x] in ("<cls>", "<sep>") else "#DCEBF7")
        if cell != "":
            ax.add_patch(plt.Rectangle((x, -y), 1, 0.9, fc=fill, ec="white"))
        ax.text(x + 0.5, 0.45 - y, str(cell), ha="center", va="center",
                fontsize=7, color="black")
    ax.text(-0.15, 0.45 - y, name, ha="right", va="center", fontsize=8)
ax.set(xlim=(-1.6, len(tokens)), ylim=(-3.1, 1))
ax.axis("off")
d2l.describe(ax, """Four rows over 16 tokens: the text, cls the big dog waits
    near the river . sep the animal is old . sep; the input, where dog became
    mask and is became hill; the segments, 0 up to the first sep and 1 after
    it; the labels, dog and is, below the two changed tokens.""")

# %% [markdown]
# **Figure 15.9.1.** An example from the toy world.
# Grey tokens are special; orange ones were chosen for a prediction: one is masked, one is replaced by a random word.
# The label for the pair is 1, since the second sentence follows the first.
#
# A batch of $b$ examples, padded to $L$ tokens with $m$ predictions each, is seven tensors:
#
# | tensor | shape | holds |
# | --- | --- | --- |
# | tokens | $(b, L)$ | indices after masking |
# | segments | $(b, L)$ | 0, and 1 for the second text |
# | valid_lens | $(b,)$ | tokens before the padding |
# | positions | $(b, m)$ | which tokens are to be predicted |
# | weights | $(b, m)$ | 1 for a prediction, 0 where the row has fewer |
# | labels | $(b, m)$ | what stood there; $-100$ where the weight is 0 |
# | nsp_labels | $(b,)$ | 1 if the second text follows the first; $-100$ without one |
#
# ## Text and vocabulary
#
# BERT read BookCorpus and the English Wikipedia, 3.3 billion words.
# We take the validation and test parts of WikiText-2 (Merity and others, 2016), which keep case, punctuation and paragraphs, and whose licence is CC BY-SA 3.0; we train on the former and measure on the latter.
# A sentence ends at a full stop between blanks; the stop itself is dropped.
# Other marks do not end one (Exercise 15.9-1), and neither does, as a rule, the full stop of an abbreviation, which has no blank before it.
# Sentences of fewer than four words and paragraphs with only one sentence are left out, so in a few pairs, fewer than one in a hundred, a short sentence once stood between the two.
# WikiText writes a mark inside a word or a number as `@-@`, `@,@` or `@.@`; we take the `@` away, because BERT's tokenizer splits such marks off by itself.
#
# The tokens are those of BERT's own vocabulary, the WordPieces of [Section 15.6](06-subwords.ipynb).
# Two more kinds of text will be served: paragraphs of `ToyWorld`, whose tokens are whole words, and lists of single sentences.
# One class hides the difference, and knows which tokens are special.

# %% tags=["export"]
class BERTVocab:
    """Tokens with indices, and which of them are special.

    `vocab` is a `Vocab` that holds "<pad>", "<cls>", "<sep>", "<mask>" and
    "<unk>", or a `WordPiece`, where these are "[PAD]" and so on. Their
    indices are the attributes `pad`, `cls`, `sep`, `mask` and `unk`.
    `ordinary` (n,) are the indices of all tokens that are neither special
    nor "[unused...]", and `is_ordinary` (len(self),) says the same as
    booleans. Raises ValueError if a special token is missing.
    """

    def __init__(self, vocab):
        pieces = isinstance(vocab, WordPiece)
        self.vocab = vocab
        self.tokens = list(vocab.vocab if pieces else vocab.idx_to_token)
        ids = {token: i for i, token in enumerate(self.tokens)}
        self.is_ordinary = torch.tensor(
            [not token.startswith("[unused") for token in self.tokens])
        for name in ("pad", "cls", "sep", "mask", "unk"):
            token = f"[{name.upper()}]" if pieces else f"<{name}>"
            if token not in ids:
                raise ValueError(f"the vocabulary has no {token!r}; add it "
                                 "to its special (reserved) tokens.")
            setattr(self, name, ids[token])
            self.is_ordinary[ids[token]] = False
        self.ordinary = self.is_ordinary.nonzero().flatten()
        self.known = {}  # word: its indices

    def __len__(self):
        return len(self.tokens)

    def to_tokens(self, ids):
        """The tokens of indices (n,), a list of strings."""
        return [self.tokens[i] for i in torch.as_tensor(ids).tolist()]

# %% tags=["export"]
@add_to_class(BERTVocab)
def encode(self, sentence):
    """The indices of a sentence: a list of words, or a string with blanks.

    A word may become several pieces; "<unk>" stays the unknown token. No
    special tokens are added.
    """
    words = sentence.split() if isinstance(sentence, str) else sentence
    for word in words:
        if word not in self.known:
            unknown = word == "<unk>"
            self.known[word] = (
                [self.unk] if unknown else [self.vocab[word]]
                if isinstance(self.vocab, Vocab)
                else self.vocab(word)[1:-1])  # without [CLS], [SEP]
    return [i for word in words for i in self.known[word]]


class BERTText(NamedTuple):
    """Texts for pretraining: paragraphs, lists of sentences (lists of ids).

    `train` and `val` are lists of paragraphs, `vocab` is a `BERTVocab`.
    Without next sentence prediction a paragraph may hold one sentence.
    """

    train: list
    val: list
    vocab: BERTVocab

# %% tags=["export"]
def encode_text(train, val, vocab):
    """A `BERTText` of paragraphs whose sentences are words or strings.

    `vocab` is a `BERTVocab`; sentences that are empty after encoding are
    left out, and so are paragraphs without a sentence.
    """
    def encoded(paragraphs):
        found = [[ids for s in p if (ids := vocab.encode(s))]
                 for p in paragraphs]
        return [p for p in found if p]

    return BERTText(encoded(train), encoded(val), vocab)


def word_text(train, val, min_freq=0, words=()):
    """A `BERTText` whose tokens are whole words.

    `train` and `val` are paragraphs: lists of sentences, which are lists
    of words. The vocabulary holds the five special tokens, `words`, and
    what occurs at least `min_freq` times in `train`; `val` adds nothing.
    """
    sentences = [s for p in train for s in p] or [[]]
    vocab = Vocab(sentences, min_freq, [
        "<pad>", "<cls>", "<sep>", "<mask>", *words])
    return encode_text(train, val, BERTVocab(vocab))

# %% tags=["export"]
def toy_text(num_train, num_val, sentences=3, seed=0):
    """A `BERTText` of `ToyWorld`, with its 44 types.

    `num_train` and `num_val` are numbers of paragraphs, each of so many
    `sentences`.
    """
    world = ToyWorld(seed)
    parts = [[world.paragraph(sentences) for _ in range(n)]
             for n in (num_train, num_val)]
    return word_text(*parts, words=ToyWorld.words)


def wiki_text(wiki, vocab, min_words=4):
    """A `BERTText` of WikiText-2: `valid.txt` to train on, `test.txt`.

    `wiki` is `fetch("wikitext-2")`, `vocab` a `BERTVocab`. Sentences with
    fewer than `min_words` words are left out, and so are paragraphs with
    fewer than two sentences; "@-@", "@,@" and "@.@" become "-", "," and
    ".". Raises ValueError for other data.
    """
    parts = []
    if wiki.name != "wikitext-2":
        raise ValueError(f"{wiki.name!r} was fetched; this reads "
                         "fetch('wikitext-2').")
    for name in ("valid.txt", "test.txt"):
        part = replace(wiki, files={name: wiki.files[name]})
        long = [[re.sub("@([-,.])@", r"\1", s) for s in p
                 if len(s.split()) >= min_words] for p in paragraphs(part)]
        parts.append([p for p in long if len(p) > 1])
    return encode_text(*parts, vocab)

# %%
toy = toy_text(1000, 200, seed=seed)
wiki = d2l.fetch("wikitext-2")
listed = d2l.fetch("bert-vocab")
pieces = BERTVocab(WordPiece(
    listed.files["bert-base-uncased-vocab.txt"]
    .read_text(encoding="utf-8").splitlines()))
text = wiki_text(wiki, pieces)
full = wiki.is_real and listed.is_real
for name, one in (("toy", toy), ("wiki", text)):
    v, sizes = one.vocab, [sum(map(len, part)) for part in one[:2]]
    print(f"{name}: {len(v)} tokens, {len(v.ordinary)} ordinary; "
          f"{len(one.train)} + {len(one.val)} paragraphs, "
          f"{sizes[0]} + {sizes[1]} sentences")
print(" ".join(pieces.to_tokens(text.train[0][1])))

# %% [markdown]
# Of the 30 522 entries of BERT's vocabulary, 994 are called `[unused...]` and stand for nothing; together with the five special tokens they are not *ordinary*.
# The files have already replaced rare words by `<unk>`, which we map to `[UNK]` and never ask the model to predict.

# %% tags=["hide-input"]
# check: what the vocabularies and texts hold
assert len(toy.vocab) == 44 and len(toy.vocab.ordinary) == 39
for v, names in ((toy.vocab, "<pad> <cls> <sep> <mask> <unk>"),
                 (pieces, "[PAD] [CLS] [SEP] [MASK] [UNK]")):
    special = [v.pad, v.cls, v.sep, v.mask, v.unk]
    assert " ".join(v.to_tokens(special)) == names
    assert not v.is_ordinary[special].any()
    unused = [i for i, t in enumerate(v.tokens) if t.startswith("[unused")]
    assert len(v.ordinary) == len(v) - 5 - len(unused)
    assert not set(unused) & set(v.ordinary.tolist())
assert not full or (len(pieces), len(unused)) == (30522, 994)
small, world = toy_text(9, 2, 4, seed + 1), ToyWorld(seed + 1)
made = [[toy.vocab.to_tokens(s) for s in p] for p in small.train + small.val]
assert len(small.val) == 2 and made == [world.paragraph(4) for _ in made]
line = "the <unk> house"
assert pieces.encode(line) == [*pieces.vocab("the")[1:-1], pieces.unk,
                               *pieces.vocab("house")[1:-1]]
assert pieces.encode(line.split()) == pieces.encode(line)
assert toy.vocab.encode("the zebra") == [toy.vocab.vocab["the"],
                                         toy.vocab.unk]
rare = word_text([[["a", "b"], ["b"]]], [[["a", "c"]], [[]]], min_freq=2)
assert rare.val == [[[rare.vocab.unk] * 2]] and len(rare.vocab) == 6
for call, bad, word in ((BERTVocab, [Vocab(["a"])], "'<pad>'"),
                        (wiki_text, [listed, pieces], "'bert-vocab'")):
    try:
        call(*bad)
        raise AssertionError(f"{word}: bad input was accepted")
    except ValueError as error:
        assert word in str(error)

# %% tags=["hide-input"]
# check: WikiText-2 reads as if its marks had never been set apart
joined = [s for p in text.train for s in p][:300]  # a file's first lines
part = replace(wiki, files={"valid.txt": wiki.files["valid.txt"]})
gaps, whole = 0, []
for p in paragraphs(part):
    long = [i for i, s in enumerate(p) if len(s.split()) >= 4]
    gaps += sum(b - a > 1 for a, b in zip(long, long[1:]))
    whole += [p[i] for i in long] if len(long) > 1 else []
for ids, s in zip(joined, whole):  # "mid @-@ 1990s" reads "mid-1990s"
    s = re.sub(" @(.)@ ", r"\1", s)
    assert "<unk>" in s or ids == pieces.vocab(s)[1:-1]
assert all(len(p) > 1 for part in text[:2] for p in part)
if full:
    assert [len(p) for p in text[:2]] == [1535, 1708]
    assert [sum(map(len, p)) for p in text[:2]] == [7607, 8792]
    assert 0 < gaps < 0.01 * (7607 - 1535)  # of so many pairs

# %% [markdown]
# ## Pairs of sentences
#
# Next sentence prediction (NSP) asks whether the second text of a pair follows the first.
# Every two neighbouring sentences of a paragraph give one pair.
# A coin decides whether they stay, with label 1, or the second gives way to another sentence, with label 0.
# (BERT's released program writes 1 for the random sentence and 0 for the next one.)
# Which other sentence?
# Drawing a random sentence of a random paragraph, as *Dive into Deep Learning* (Zhang and others) does, now and then hits the true next one, and labels it 0.
# We draw from *another* paragraph, and draw again if the text reads like the true next sentence.
# BERT's own program takes another document, and stops trying after ten draws.
# Our paragraphs carry no name of their article, so a negative may come from the same one.

# %% tags=["export"]
def draw_sentences(i, owner, text, rng, negatives):
    """Sentences i (n,) that have a negative, and one of them for each.

    `owner` and `text` say for each sentence its paragraph and its wording.
    Draws again whatever is forbidden; used by `next_sentence_pairs`.
    """
    n, inside = len(text), negatives == "paragraph"
    sizes = torch.bincount(owner)
    starts = sizes.cumsum(0) - sizes
    if inside:  # a third wording in the paragraph?
        wordings = {}
        for o, t in zip(owner.tolist(), text.tolist()):
            wordings.setdefault(o, set()).add(t)
        i = i[torch.tensor([len(wordings[o] - {t, u}) > 0 for o, t, u in zip(
            owner[i].tolist(), text[i].tolist(), text[i + 1].tolist())],
            dtype=torch.bool)]
    j, todo = torch.empty_like(i), torch.arange(len(i))
    for _ in range(1000):
        if len(todo) == 0:
            return i, j
        a, u = i[todo], torch.rand(len(todo), generator=rng).double()
        b = ((starts[owner[a]] + (u * sizes[owner[a]]).long()) if inside
             else (u * n).long())
        j[todo] = b
        wrong = (text[b] == text[a + 1]) | (
            text[b] == text[a] if inside else owner[b] == owner[a])
        todo = todo[wrong]
    raise ValueError(f"{len(todo)} sentences found no negative in 1000 "
                     "draws; more paragraphs are needed.")

# %% tags=["export"]
def next_sentence_pairs(paragraphs, rng, negatives="elsewhere"):
    """A list of (a, b, is_next), one for each two adjacent sentences.

    `paragraphs` are lists of sentences, which are lists of tokens or of
    indices; `rng` is a `torch.Generator`. With probability 1/2 (a, b) are
    the two sentences and `is_next` is 1; otherwise it is 0, and b is a
    random sentence of another paragraph ("elsewhere") or of the same one
    ("paragraph"), or the two are swapped ("order"). The b of a negative
    never reads like the true next sentence, except with "order" where a
    text returns, as in A, B, A. Where no negative exists within the
    paragraph, or swapping changes nothing, the pair is left out.

    Raises ValueError for other `negatives`, and if another paragraph has
    no sentence to offer. Sources: Devlin et al. (2018), arXiv:1810.04805;
    "order": Lan et al. (2019), arXiv:1909.11942.
    """
    if negatives not in ("elsewhere", "paragraph", "order"):
        raise ValueError(f"negatives is {negatives!r}; use 'elsewhere', "
                         "'paragraph' or 'order'.")
    sentences = [s for p in paragraphs for s in p]
    seen = {}  # equal texts get equal numbers
    text = torch.tensor([seen.setdefault(tuple(s), len(seen))
                         for s in sentences], dtype=torch.int64)
    sizes = torch.tensor([len(p) for p in paragraphs], dtype=torch.int64)
    owner = torch.arange(len(sizes)).repeat_interleave(sizes)
    i = (owner[1:] == owner[:-1]).nonzero().flatten()  # (n,) first sentences
    if negatives == "order":
        i = i[text[i] != text[i + 1]]
        j = i
    else:
        i, j = draw_sentences(i, owner, text, rng, negatives)
    is_next = torch.rand(len(i), generator=rng) < 0.5
    first = i if negatives != "order" else torch.where(is_next, i, i + 1)
    second = torch.where(is_next, i + 1, j)
    return [(sentences[a], sentences[b], label) for a, b, label in zip(
        first.tolist(), second.tolist(), is_next.long().tolist())]

# %%
rng = torch.Generator().manual_seed(seed)
pairs = next_sentence_pairs(text.train, rng)
for a, b, is_next in pairs[:2]:
    for ids in (a, b):
        print(*pieces.to_tokens(ids)[:12], "...")
    print("is_next:", is_next)

# %%
# check 15.9-C3: half belong together, and no negative is the next sentence
for one in (text, toy):
    after = {id(p[i]): p[i + 1] for p in one.train
             for i in range(len(p) - 1)}  # each sentence is its own list
    owner = {id(s): k for k, p in enumerate(one.train) for s in p}
    found = next_sentence_pairs(one.train, rng.manual_seed(seed))
    n, positive = len(found), sum(label for _, _, label in found)
    assert n == len(after) and abs(positive - n / 2) < 3 * (n / 4) ** 0.5
    for a, b, label in found:
        assert (b is after[id(a)]) if label else (b != after[id(a)])
        assert (owner[id(a)] == owner[id(b)]) == (label == 1)
    print(f"{n} pairs, {positive / n:.3f} positive")
again = [next_sentence_pairs(toy.train, rng.manual_seed(s))
         for s in (seed, seed, seed + 1)]
assert again[0] == again[1] == found and again[2] != found

# %% [markdown]
# How often does the simple sampler err?
# With $P$ paragraphs of $S$ sentences each, it hits the true next sentence with probability $1/(PS)$: one negative in four for two paragraphs of two sentences, but less than one in 7000 in WikiText-2.

# %%
def simple_negatives(paragraphs, draws, rng):
    """How often a random sentence of a random paragraph is the next one.

    For each pair of neighbours in `paragraphs`, `draws` times.
    """
    wrong = total = 0
    for p in paragraphs:
        for true in p[1:]:
            for k in torch.randint(len(paragraphs), (draws,), generator=rng):
                q = paragraphs[k]
                j = int(torch.randint(len(q), (1,), generator=rng))
                wrong, total = wrong + (q[j] is true), total + 1
    return wrong / total, total

tiny = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
P = len(text.train)  # the mean of 1 / (P S) over all pairs
exact = sum((len(p) - 1) / (P * len(p)) for p in text.train) / len(pairs)
assert exact < 1 / 7000
rate, total = simple_negatives(tiny, 2000, rng.manual_seed(seed))
print(f"{rate:.1%} of the negatives are the next sentence")
assert abs(rate - 1 / 4) < 3 * (3 / 16 / total) ** 0.5
drawn = set()
for _ in range(200):  # ours has only the other paragraph to choose from
    for a, b, label in next_sentence_pairs(tiny, rng):
        assert ((a[0] < 5) == (b[0] < 5)) == label
        drawn |= set() if label else {b[0]}
assert drawn == {1, 3, 5, 7}  # and all of it is chosen from

# %% tags=["hide-input"]
# check: the other kinds of negatives, and what cannot be done
inside = next_sentence_pairs(text.train, rng, "paragraph")
after = {id(p[i]): p[i + 1] for p in text.train for i in range(len(p) - 1)}
owner = {id(s): k for k, p in enumerate(text.train) for s in p}
for a, b, label in inside:
    assert owner[id(a)] == owner[id(b)] and (b is after[id(a)]) >= label
    assert label or (b != after[id(a)] and b != a)
few = sum(len(p) == 2 for p in text.train)
assert len(after) - len(inside) >= few and not next_sentence_pairs(
    tiny, rng, "paragraph")
for a, b, label in next_sentence_pairs(text.train, rng, "order"):
    assert (b is after[id(a)]) if label else (a is after[id(b)])
assert not next_sentence_pairs([[[1], [1]]], rng, "order")
third = next_sentence_pairs([[[1], [2], [3]]] * 3000, rng, "paragraph")
for _, b, label in third:  # [1] and [2] can only be refuted by [3]
    assert label or b in ([3], [1])
share = sum(label for _, _, label in third) / len(third)
assert abs(share - 0.5) < 3 * 0.5 / len(third) ** 0.5
drawn = [b[0] for _, b, label in next_sentence_pairs(
    [[[k], [k + 5000]] for k in range(5000)], rng) if not label]
counts = torch.bincount(torch.tensor(drawn) // 500, minlength=20).double()
assert (counts > 0.6 * counts.mean()).all()  # from all sentences
for bad, word in ((([[[1], [2]]], rng), "more paragraphs"),
                  ((tiny, rng, "document"), "document")):
    try:
        next_sentence_pairs(*bad)
        raise AssertionError(f"{word} was accepted")
    except ValueError as error:
        assert word in str(error)

# %% [markdown]
# ## Truncation and padding
#
# A pair that is too long together with its three special tokens can be dropped or cut.
# We cut, as BERT does: tokens are taken off the end of the longer text, one at a time, until the pair fits, so the shorter one often stays whole.
# (BERT's program takes them off the end or the beginning, at random.)
# One at a time is a loop; the result of the loop can be written down.
# With $n$ tokens to keep, the first text keeps at most $\max(n-|b|,\,\lceil n/2\rceil)$ of its tokens, where $|b|$ is the length of the second, and the second what remains.

# %% tags=["export"]
def truncate_pair(a, b, n):
    """Beginnings of a and b, lists, with at most n tokens together.

    The longer one is cut first; b may be None. Raises ValueError if n is
    too small to leave a token of each.
    """
    if n < (1 if b is None else 2):
        raise ValueError(f"{n} tokens are left for the text; raise max_len.")
    if b is None:
        return a[:n], None
    keep = max(n - len(b), n - n // 2)
    return a[:keep], b[:n - min(len(a), keep)]

# %% tags=["export"]
def pad_bert(examples, max_len, vocab):
    """Examples (a, b, is_next) as tensors; b is None for a single text.

    `a` and `b` are lists of indices of `vocab`, a `BERTVocab`; they are cut
    by `truncate_pair` where they and the special tokens exceed `max_len`.

    Returns int64 tensors: tokens (n, max_len), <cls> a <sep> b <sep> and
    padding; segments (n, max_len), 1 for b and its <sep>, else 0;
    valid_lens (n,); nsp_labels (n,), which are -100 without b. Raises
    ValueError for an empty text, and if there is no example.
    """
    if not examples:
        raise ValueError("there is no example to pad.")
    flat, first, lens = [], [], []
    for a, b, _ in examples:
        if not len(a) or (b is not None and not len(b)):
            raise ValueError("a text has no token; leave it out.")
        a, b = truncate_pair(a, b, max_len - (2 if b is None else 3))
        row = [vocab.cls, *a, vocab.sep]
        first.append(len(row))
        row += [] if b is None else [*b, vocab.sep]
        lens.append(len(row))
        flat += row
    first, lens = torch.tensor(first), torch.tensor(lens)
    places = torch.arange(max_len)
    inside = places < lens[:, None]  # (n, max_len)
    tokens = torch.full(inside.shape, vocab.pad)
    tokens[inside] = torch.tensor(flat)
    segments = (inside & (places >= first[:, None])).long()
    labels = [-100 if b is None else int(label) for _, b, label in examples]
    return tokens, segments, lens, torch.tensor(labels)

# %%
# check 15.9-C7: cutting keeps both texts, in the layout of Section 15.8
def cut_slowly(a, b, n):
    a, b = list(a), list(b)
    while len(a) + len(b) > n:
        (a if len(a) > len(b) else b).pop()
    return a, b

for n in range(2, 9):
    for i in range(1, 11):
        for j in range(1, 11):
            a, b = list(range(i)), list(range(j))
            assert truncate_pair(a, b, n) == cut_slowly(a, b, n)
            assert (len(a), len(b)) == (i, j)  # the originals stay whole
tensors = pad_bert(pairs[:500], 64, pieces)
special = {"<cls>": pieces.cls, "<sep>": pieces.sep}
for (a, b, label), ids, segments, n, y in zip(pairs[:500], *tensors):
    row, sides = tokens_and_segments(*cut_slowly(a, b, 61))
    row = [special.get(token, token) for token in row]
    assert ids[:n].tolist() == row and segments[:n].tolist() == sides
    assert (ids[n:] == pieces.pad).all() and not segments[n:].any()
    assert y == label and 0 < sides.count(1) < n and row.count(
        pieces.sep) == 2
cut = (tensors[2] == 64).double().mean()
assert not full or 0.1 < cut < 0.6  # pairs that fill the row

# %% tags=["hide-input"]
# check: single texts, and what is refused
alone = pad_bert([([7, 8, 9], None, 0), ([7], None, 0)], 4, pieces)
assert alone[0].tolist() == [[pieces.cls, 7, 8, pieces.sep],
                             [pieces.cls, 7, pieces.sep, pieces.pad]]
assert not alone[1].any() and alone[2].tolist() == [4, 3]
assert alone[3].tolist() == [-100, -100]
assert all(part.dtype == torch.int64 for part in alone)
for bad, size, word in ((([1], [], 0), 9, "no token"),
                        (([], None, 0), 9, "no token"),
                        (([1], [2], 0), 4, "1 tokens"),
                        (([1], None, 0), 2, "0 tokens"),
                        (None, 9, "no example")):
    try:
        pad_bert([bad] if bad else [], size, pieces)
        raise AssertionError(f"{bad} was accepted")
    except ValueError as error:
        assert word in str(error)

# %% tags=["hide-input"]
lengths = torch.tensor([len(a) + len(b) + 3 for a, b, _ in pairs])
_, ax = plt.subplots(figsize=(5.6, 2.6))
ax.hist(lengths, bins=range(0, int(lengths.max()) + 9, 8))
for limit, height in ((64, 0.97), (128, 0.6)):
    ax.axvline(limit, color="C1", lw=1.5)
    ax.text(limit + 2, height, f"{(lengths > limit).double().mean():.1%}\n"
            "are longer", transform=ax.get_xaxis_transform(), va="top")
ax.grid(axis="x", visible=False)
ax.set(xlabel="tokens of a pair, with three special ones", ylabel="pairs")
d2l.describe(ax, """A histogram of the lengths of pairs, with one peak near 52
    tokens and a thin tail beyond 150. Two vertical lines, at 64 and at 128;
    more than a quarter of the pairs are longer than 64, almost none
    than 128.""")

# %% [markdown]
# **Figure 15.9.2.** Lengths of the training pairs of WikiText-2, and two limits: more than a quarter of the pairs exceed 64 tokens, very few exceed 128.
#
# ## Masking
#
# [Section 11.9](../11-attention-and-transformers/09-large-scale-pretraining.ipynb) has a function `mask_tokens` that chooses each token by its own coin.
# The number of predictions of a text is then random, and may be 0.
# BERT fixes it: a text of $n$ tokens, special ones included, gets
#
# $$k(n)=\max(1,\ \mathrm{round}(0.15\,n)) \tag{15.9.1}$$
#
# predictions, so none is left without one unless it has no ordinary token, and $m=k(L)$ columns suffice for all rows of a batch; a text of 64 tokens gets $k(64)=\mathrm{round}(9.6)=10$.
# A second difference: `mask_tokens` draws its random tokens from the whole vocabulary.
# So do *Dive into Deep Learning* and BERT's program, where an input may therefore hold a second `<cls>` or an `[unused7]`.
# We draw from the ordinary tokens.
# Both differences concern what happens inside the function, so we write it anew.
#
# To choose $k$ of the ordinary tokens of every row without a loop, give each a random key and take the $m$ largest; rows with fewer predictions use only their first $k(n)$.

# %% tags=["export"]
def mask_positions(tokens, vocab, rng, rate=0.15):
    """Corrupt texts for masked language modelling, all rows at once.

    Of a row with n tokens that are not padding, max(1, round(rate * n)) are
    chosen, all of them ordinary (fewer if there are not so many); of these
    80 % become `vocab.mask`, 10 % a random ordinary token, 10 % stay.

    `tokens` (n, L) are indices of `vocab`, a `BERTVocab`, padded, and `rng`
    is a `torch.Generator`. Returns inputs (n, L), positions (n, m) and
    labels (n, m), int64, with m = max(1, round(rate * L)). Where a row has
    fewer predictions, the rest has position 0 and label -100. One text (L,)
    gives (L,), (m,), (m,). Raises ValueError unless 0 < rate <= 1. Source:
    Devlin et al. (2018), arXiv:1810.04805.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate is {rate}; it must lie in (0, 1].")
    if tokens.ndim == 1:
        return tuple(part[0] for part in mask_positions(
            tokens[None], vocab, rng, rate))
    allowed = vocab.is_ordinary[tokens]  # (n, L)
    lens = (tokens != vocab.pad).sum(dim=1)
    wanted = (rate * lens.double()).round().long().clamp(min=1)
    wanted = torch.minimum(wanted, allowed.sum(dim=1))  # (n,)
    m = max(1, round(rate * tokens.shape[1]))
    keys = torch.rand(tokens.shape, generator=rng).masked_fill(~allowed, -1)
    positions = keys.topk(m, dim=1).indices  # (n, m), all different
    chosen = torch.arange(m) < wanted[:, None]
    old = tokens.gather(1, positions)
    fate = torch.rand(old.shape, generator=rng)
    noise = vocab.ordinary[torch.randint(
        len(vocab.ordinary), old.shape, generator=rng)]
    new = torch.where(fate < 0.8, vocab.mask,
                      torch.where(fate < 0.9, noise, old))
    inputs = tokens.scatter(1, positions, torch.where(chosen, new, old))
    return (inputs, positions.masked_fill(~chosen, 0),
            old.masked_fill(~chosen, -100))

# %%
rng.manual_seed(seed + 1)
few = pad_bert(next_sentence_pairs(toy.train, rng)[:3], 24, toy.vocab)[0]
inputs, positions, labels = mask_positions(few, toy.vocab, rng)
for row in range(3):
    n = (few[row] != toy.vocab.pad).sum()
    wanted = labels[row] != -100
    print(*toy.vocab.to_tokens(inputs[row, :n]))
    print("   ", *(f"{i}: {toy.vocab.tokens[y]}" for i, y in zip(
        positions[row, wanted].tolist(), labels[row, wanted].tolist())))

# %%
# check 15.9-C1: as many as (15.9.1) says; 80 % masked, 10 % random, 10 % kept
rng.manual_seed(seed)
tokens = pad_bert(pairs, 128, pieces)[0]
inputs, positions, labels = mask_positions(tokens, pieces, rng)
chosen = labels != -100
lens = (tokens != pieces.pad).sum(dim=1)
expected = [max(1, round(0.15 * n)) for n in lens.tolist()]
assert lens.sum() > 100_000 and chosen.sum(dim=1).tolist() == expected
seen = inputs.gather(1, positions)[chosen]
total, same = len(seen), (seen == labels[chosen]).double().mean()
masked = (seen == pieces.mask).double().mean()
for name, share, p in (("masked", masked, 0.8), ("kept", same, 0.1),
                       ("random", 1 - masked - same, 0.1)):
    print(f"{name} {share:.4f} ± {(p * (1 - p) / total) ** 0.5:.4f}")
    assert abs(share - p) < 3 * (p * (1 - p) / total) ** 0.5
coins = mask_tokens(tokens, pieces.mask, len(pieces), (
    pieces.pad, pieces.cls, pieces.sep), generator=rng)[1] != -100
print(f"a text of {lens[0]} tokens: {expected[0]} predictions; by coins "
      f"{coins[0].sum()}")

# %% tags=["hide-input"]
# check 15.9-C1: all ordinary positions are equally likely
rng.manual_seed(seed)
one = torch.randint(len(toy.vocab.ordinary), (40,), generator=rng)
one = toy.vocab.ordinary[one]
one[0], one[20], one[39] = toy.vocab.cls, toy.vocab.sep, toy.vocab.sep
copies, k, free = 20_000, 6, 37
_, positions_of_one, y = mask_positions(one.expand(copies, -1), toy.vocab,
                                        rng)
assert y.shape == (copies, k) and (y != -100).all()
hits = torch.bincount(positions_of_one.flatten(), minlength=40).double()
assert hits[[0, 20, 39]].sum() == 0
hits = hits[(one != toy.vocab.cls) & (one != toy.vocab.sep)]
spread = copies * k / free * (1 - k / free) * free / (free - 1)
statistic = ((hits - copies * k / free) ** 2).sum() / spread
print(f"chi-square {statistic:.1f}; 36 expected")
assert chi2.ppf(0.0005, free - 1) < statistic < chi2.ppf(0.9995, free - 1)

# %% [markdown]
# The $\chi^2$ test above uses the variance of drawing without replacement, because a row chooses a position at most once.

# %%
# check 15.9-C2: special tokens are neither chosen nor inserted
assert pieces.is_ordinary[labels[chosen]].all()
rows, cols = chosen.nonzero(as_tuple=True)
picked = torch.zeros_like(tokens, dtype=torch.bool)
picked[rows, positions[rows, cols]] = True
assert picked.sum() == total and (inputs == tokens)[~picked].all()
assert (pieces.is_ordinary[seen] | (seen == pieces.mask)).all()
noise = seen[(seen != pieces.mask) & (seen != labels[chosen])]
size = len(pieces.ordinary)  # as many different ones as of random draws
assert len(noise.unique()) > 0.97 * size * -math.expm1(-len(noise) / size)
toy_ids = pad_bert(next_sentence_pairs(toy.train, rng), 40, toy.vocab)[0]
v = toy.vocab
for name, (changed, y) in {
        "mask_tokens": mask_tokens(toy_ids, v.mask, len(v), (
            v.pad, v.cls, v.sep), generator=rng),
        "mask_positions": (mask_positions(toy_ids, v, rng)[0], None)}.items():
    new = changed[(changed != toy_ids) & (changed != v.mask)]
    share = (~v.is_ordinary[new]).double().mean()
    print(f"{name}: {share:.1%} of the new tokens are special")
    assert share == 0 if y is None else share > 0.05

# %%
# check 15.9-C6: the labels undo the masking
restored = inputs.clone()
restored[rows, positions[rows, cols]] = labels[chosen]
assert torch.equal(restored, tokens) and not torch.equal(inputs, tokens)
assert (positions[~chosen] == 0).all()
text_of_one = mask_positions(tokens[0], pieces, rng.manual_seed(1))
for one, row in zip(text_of_one, mask_positions(
        tokens[:1], pieces, rng.manual_seed(1))):
    assert torch.equal(one, row[0])

# %% tags=["hide-input"]
# check: other rates, texts with too few words, and a rate that is refused
half = mask_positions(tokens, pieces, rng, rate=0.5)
assert half[1].shape == (len(tokens), 64)
free = pieces.is_ordinary[tokens].sum(dim=1)
wanted = torch.minimum((0.5 * lens.double()).round(), free)
assert torch.equal((half[2] != -100).sum(dim=1), wanted.long())
short = torch.tensor([[v.cls, v.ordinary[0], v.sep, v.pad],
                      [v.cls, v.unk, v.sep, v.pad]])
for rate, m in ((0.15, 1), (1, 4)):
    x, i, y = mask_positions(short, v, rng, rate)
    assert i.shape == (2, m) and (y != -100).sum(dim=1).tolist() == [1, 0]
    assert torch.equal(x[1], short[1]) and i[0, 0] == 1
assert mask_positions(short[:, :3], v, rng)[1].shape == (2, 1)
for rate in (0, 1.5):
    try:
        mask_positions(short, v, rng, rate)
        raise AssertionError(f"rate {rate} was accepted")
    except ValueError as error:
        assert str(rate) in str(error)

# %% [markdown]
# Which words does the model learn to predict?
# The choice looks at positions, not at words: within a text all ordinary tokens are equally likely to be chosen, so a token's share of the predictions is close to its share of the text.

# %%
def count(ids):
    return torch.bincount(ids.flatten(), minlength=len(pieces)).double()

occurs = count(tokens[pieces.is_ordinary[tokens]])
hits = count(labels[chosen])
order = occurs.argsort(descending=True, stable=True)[:(occurs > 0).sum()]
edges = [0, 10, 100, 1000, len(order)]
for low, high in zip(edges, edges[1:]):
    group = order[low:high]
    print(f"ranks {low + 1:5}-{high:5}: chosen "
          f"{hits[group].sum() / occurs[group].sum():.1%}, they make up "
          f"{hits[group].sum() / hits.sum():.1%} of the predictions")

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 2.6))
ranks = torch.arange(1, len(order) + 1)
ax.semilogx(ranks, 100 * occurs[order].cumsum(0) / occurs.sum(),
            label="of the text")
ax.semilogx(ranks, 100 * hits[order].cumsum(0) / hits.sum(), "--",
            label="of the predictions")
ax.set(xlabel="rank of the token", ylabel="share (%)", ylim=(0, 100))
ax.legend()
d2l.describe(ax, """Two curves of the share of all tokens up to a rank, of the
    text and of the predictions. They coincide, pass 50 per cent at a rank of
    about 100 and end at 100 per cent.""")
top = order[:1000]
rates = hits[top].sum() / occurs[top].sum(), hits.sum() / occurs.sum()
assert abs(rates[0] - rates[1]) < 0.005
assert abs(rates[1] - 0.15 * lens.sum() / occurs.sum()) < 0.002
assert not full or 0.16 < rates[1] < 0.175
assert not full or abs(hits[order[:100]].sum() / hits.sum() - 0.5) < 0.02

# %% [markdown]
# **Figure 15.9.3.** Share of the tokens up to a rank by frequency, without special ones: in the training pairs of WikiText-2 and among the tokens chosen for prediction; the two curves coincide.
#
# The hundred most frequent tokens, mostly function words and punctuation, get about half of the predictions.
# The rate for ordinary tokens is about 17 %: (15.9.1) takes 15 % of all tokens, and only ordinary ones are chosen.
# Some successors choose differently: spans (SpanBERT, Exercise 15.9-3), or whole words, so that a model cannot complete a word from its other pieces.

# %% [markdown]
# ## Batches, and masks that change
#
# When are the masks drawn?
# *Static masking* draws them once, while the data set is prepared, as BERT's program did; to soften this it wrote each text ten times with different masks, so in 40 epochs each mask was seen four times (Liu and others, 2019).
# *Dynamic masking* draws them whenever a text is served, as RoBERTa does.
# Validation masks are drawn once either way, so two measurements with the same `BERTData` differ by the model alone.
# A `BERTData` with static masks has drawn the training masks first, so even with the same seed its validation part differs from that of one with dynamic masks: give both the same `val` before you compare models.

# %% tags=["export"]
class BERTData(DataModule):
    """Batches for pretraining BERT from a `BERTText`.

    A batch is (tokens, segments (b, max_len), valid_lens (b,), positions,
    weights, labels (b, m), nsp_labels (b,)); weights are float32, 1 for a
    prediction and 0 for its padding, where the label is -100; the rest is
    int64. Tensors lie on the CPU.

    With `nsp`, examples are pairs of sentences, whose negatives are of the
    kind `negatives` of `next_sentence_pairs`; without, each sentence is an
    example by itself, with segment 0 and NSP label -100. `dynamic` masks
    are drawn anew whenever a training batch is served, others once, by the
    constructor; those of validation are always the latter. The pairs stay
    the same.
    """

    def __init__(self, batch_size, max_len, source, dynamic=True, nsp=True,
                 rate=0.15, negatives="elsewhere", seed=0):
        super().__init__()
        self.save_hyperparameters()
        self.vocab = source.vocab
        self.generator = torch.Generator().manual_seed(seed)
        self.train = self.prepare(source.train, not dynamic)
        self.val = self.prepare(source.val, True) if source.val else None

    def prepare(self, part, masked):
        """The tensors of `pad_bert`, or the batch of them all, masked."""
        pairs = (next_sentence_pairs(part, self.generator, self.negatives)
                 if self.nsp else [(s, None, 0) for p in part for s in p])
        if not pairs:
            raise ValueError("the text gives no example; pairs need "
                             "paragraphs of two sentences and more.")
        tensors = pad_bert(pairs, self.max_len, self.vocab)
        return self.mask(*tensors) if masked else tensors

# %% tags=["export"]
@add_to_class(BERTData)
def mask(self, tokens, segments, valid_lens, nsp_labels):
    """A batch with fresh masks."""
    inputs, positions, labels = mask_positions(
        tokens, self.vocab, self.generator, self.rate)
    weights = (labels != -100).float()
    return (inputs, segments, valid_lens, positions, weights, labels,
            nsp_labels)


@add_to_class(BERTData)
def get_dataloader(self, train):
    """Shuffled batches for training, or those of validation in order.

    None if the source has no validation part.
    """
    if not train:
        return self.val and d2l.BatchLoader(self.val, self.batch_size)
    return d2l.BatchLoader(
        self.train, self.batch_size, shuffle=True,
        generator=self.generator,
        transform=self.mask if self.dynamic else None)

# %%
data = BERTData(512, 64, text, seed=seed)
batch = next(iter(data.train_dataloader()))
names = ("tokens", "segments", "valid_lens", "positions", "weights",
         "labels", "nsp_labels")
for name, part in zip(names, batch):
    print(f"{name:10} {tuple(part.shape)} {str(part.dtype)[6:]}")

# %%
# check 15.9-C4: shapes and types; the padding of predictions is ignored
assert [part.shape for part in batch] == [
    (512, 64), (512, 64), (512,), (512, 10), (512, 10), (512, 10), (512,)]
assert batch[4].dtype == torch.float32 and all(
    part.dtype == torch.int64 for part in batch[:4] + batch[5:])
ids, _, lens, positions, weights, labels, y = batch
assert torch.equal((ids != pieces.pad).sum(dim=1), lens)
wanted = [max(1, round(0.15 * n)) for n in lens.tolist()]
assert weights.sum(dim=1).tolist() == wanted
assert torch.equal(labels == -100, weights == 0) and set(y.tolist()) == {0, 1}
scores = torch.randn(512, 10, 50, generator=rng)
targets = torch.where(labels == -100, labels, labels % 50)
losses = F.cross_entropy(scores.mT, targets, reduction="none")
losses = losses.masked_fill(weights == 0, 9.0)  # whatever stands there
torch.testing.assert_close(
    F.cross_entropy(scores.flatten(0, 1), targets.flatten()),
    (losses * weights).sum() / weights.sum())

# %% [markdown]
# Weights and labels say the same twice: one may multiply unreduced losses by the weights, or hand labels of $-100$ to `F.cross_entropy`, which leaves them out of its mean.
# A mean over all $m$ columns, multiplied by the weights afterwards, would be neither; [Section 15.10](10-bert-pretraining.ipynb) shows what goes wrong.

# %%
# check 15.9-C5: dynamic masks change between epochs, static ones do not
def as_rows(loader):
    """What an epoch serves, as a sorted list: inputs and whole texts."""
    inputs, texts = [], []
    for ids, _, _, positions, weights, labels, _ in loader:
        whole, where = ids.clone(), weights.nonzero(as_tuple=True)
        whole[where[0], positions[where]] = labels[where]
        inputs += map(tuple, ids.tolist())
        texts += map(tuple, whole.tolist())
    return sorted(inputs), sorted(texts)

held = []
for dynamic in (True, False):
    one = BERTData(64, 40, toy, dynamic=dynamic, seed=seed)
    loader, held_out = one.train_dataloader(), one.val_dataloader()
    (x, whole), (x2, whole2) = as_rows(loader), as_rows(loader)
    assert whole == whole2 and len(whole) == 2 * len(toy.train)
    assert (x == x2) == (not dynamic)
    fixed, whole = as_rows(held_out)
    assert (fixed, whole) == as_rows(held_out) and fixed != whole
    expected = next_sentence_pairs(toy.train, rng.manual_seed(seed))
    assert len(whole) == 2 * len(toy.val) and sum(
        len(a) + len(b) + 3 for a, b, _ in expected) == one.train[2].sum()
    first = next(iter(held_out))[1][0].argmax()  # where b begins
    assert first == len(toy.val[0][0]) + 2
    order = [next(iter(loader))[2].tolist() for _ in range(2)]
    assert order[0] != order[1]  # shuffled
    held.append(fixed)
assert held[0] != held[1]  # two data sets, two validation parts

# %% tags=["hide-input"]
# check: sentences alone, no validation, other rates, the same seed
single = BERTData(64, 40, toy, nsp=False, seed=seed)
assert len(single.train[0]) == 3 * len(toy.train)
b = next(iter(single.train_dataloader()))
assert not b[1].any() and (b[6] == -100).all() and (b[4].sum(1) >= 1).all()
assert BERTData(64, 40, toy._replace(val=[])).val_dataloader() is None
assert next(iter(BERTData(8, 40, toy, rate=0.5).train_dataloader()))[
    3].shape == (8, 20)
twice = [next(iter(BERTData(64, 40, toy, seed=s).train_dataloader()))
         for s in (1, 1, 2)]
assert all(map(torch.equal, twice[0], twice[1]))
assert not torch.equal(twice[0][0], twice[2][0])
swapped = BERTData(64, 40, toy, negatives="order", seed=seed)
expected = next_sentence_pairs(toy.train, rng.manual_seed(seed), "order")
for one, part in zip(swapped.train, pad_bert(expected, 40, toy.vocab)):
    assert torch.equal(one, part)
try:
    BERTData(8, 40, toy._replace(train=[p[:1] for p in toy.train]))
    raise AssertionError("paragraphs of one sentence gave pairs")
except ValueError as error:
    assert "two sentences" in str(error)

# %% [markdown]
# How much more of a text becomes a target?
# A share $p$ of the ordinary tokens is chosen in each epoch; were it the same in every text, a share $1-(1-p)^E$ of them would have been a target after $E$ epochs with independent masks.
# (Rounding in (15.9.1) and the special tokens make it differ from text to text, so the formula holds only nearly.)
# One fixed mask stops at $p$, and ten masks, used in turn, at about $1-(1-p)^{10}$.

# %%
def new_targets(data):
    """Which tokens (n, max_len) a fresh mask of all texts asks for."""
    _, _, _, at, weights, _, _ = data.mask(*data.train)
    rows, cols = weights.nonzero(as_tuple=True)
    target = torch.zeros_like(data.train[0], dtype=torch.bool)
    target[rows, at[rows, cols]] = True
    return target


total = pieces.is_ordinary[data.train[0]].sum()
target, shares = new_targets(data), []
for epoch in range(40):
    shares.append((target.sum() / total).item())
    target |= new_targets(data)
p = shares[0]
for e in (1, 2, 5, 10, 40):
    print(f"after {e:2} epochs: {shares[e - 1]:.4f} were a target")
for e, share in enumerate(shares, start=1):
    assert abs(share - (1 - (1 - p) ** e)) < 0.01
assert not full or (abs(shares[9] - 0.85) < 0.02 and shares[39] > 0.999)

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 2.6))
epochs = range(1, 41)
ax.plot(epochs, [100 * s for s in shares], label="fresh masks")
ax.plot(epochs, [100 * shares[min(e, 10) - 1] for e in epochs], "--",
        label="ten masks in turn")
ax.plot(epochs, [100 * p] * 40, ":", label="one mask")
ax.set(xlabel="epoch", ylabel="once a target (%)", ylim=(0, 103))
ax.legend(loc="center right")
d2l.describe(ax, """Three curves over 40 epochs, all from 17 per cent. With one
    mask it stays there; with ten masks it rises to about 85 per cent at epoch
    10 and stays; with fresh masks it comes within 1 per cent of 100 before
    epoch 30.""")

# %% [markdown]
# **Figure 15.9.4.** Share of the ordinary tokens in the training pairs, cut to 64 tokens, that have been a target at least once; the dashed and the dotted curve follow from the same draws, stopped after ten and after one.
#
# With ten masks about 16 % of the tokens never become a target, however long the training; with fresh ones less than one in a thousand is left after 40 epochs.
# More targets are not yet a better model: in the comparison by Liu and others, at the size of BERT-base, dynamic masking was comparable to static masking or slightly better.
# Dynamic masking also needs no copies of the data set.
#
# ## What next sentence prediction asks for
#
# Apart from the few gaps that short sentences left, the label of a pair is right by construction.
# Is the task the intended one, to understand how sentences follow each other?
# A program that does not read sentences is a good test.
# It gets five numbers of a pair: how many different tokens the two texts share, the hundred most frequent ones left out; that number as a share of the different tokens of the text that has fewer (again without the hundred); the two lengths; and whether the second text begins with a pronoun.
# A logistic regression on these numbers, fitted on one part of WikiText-2, predicts the labels of the other.

# %%
def pair_features(pairs, content, pronouns):
    """Five numbers for each pair, a tensor (n, 5).

    `content` (len(vocab),) says which tokens count for the overlap,
    `pronouns` is a set of indices.
    """
    content, found = set(content.nonzero().flatten().tolist()), []
    for a, b, _ in pairs:
        A, B = content & set(a), content & set(b)
        shared = len(A & B)
        found.append((shared, shared / max(1, min(len(A), len(B))),
                      len(a), len(b), b[0] in pronouns))
    return torch.tensor(found, dtype=torch.float64)


frequent = count(torch.tensor([i for p in text.train for s in p for i in s]))
content = pieces.is_ordinary.clone()
content[frequent.argsort(descending=True, stable=True)[:100]] = False
pronouns = {i for word in "he she it they his her its their this these".split()
            for i in pieces.encode(word)}
c, often = content.nonzero().flatten().tolist(), int(frequent.argmax())
a, b = [c[0], c[1], c[1], c[2], often], [often, c[1], c[3], often]
assert pair_features([(a, b, 0), (b, a, 1)], content, {often}).tolist() == [
    [1, 1 / 2, 5, 4, 1], [1, 1 / 2, 4, 5, 0]]  # c[1] is shared, of 3 and 2

# %%
kinds = ("elsewhere", "paragraph", "order")
accuracy = {kind: [] for kind in kinds}
alone = {(0, 1): [], (2, 3, 4): []}  # overlap, the other three
for kind in kinds:
    for s in range(seeds):
        parts = [next_sentence_pairs(part, rng.manual_seed(s), kind)
                 for part in text[:2]]
        X, X_test = (pair_features(part, content, pronouns)
                     for part in parts)
        mean, std = X.mean(dim=0), X.std(dim=0).clamp(min=1e-9)
        y, y_test = (torch.tensor([label for _, _, label in part])
                     for part in parts)
        X, X_test = (X - mean) / std, (X_test - mean) / std
        model = LogisticRegression().fit(X, y)
        accuracy[kind].append(model.score(X_test, y_test))
        if kind == "elsewhere":
            for group in alone:
                few = list(group)
                model.fit(X[:, few], y)
                alone[group].append(model.score(X_test[:, few], y_test))
    print(f"{kind:10}", *(f"{a:.3f}" for a in accuracy[kind]),
          f"of {len(y_test)} pairs")
for name, found in zip(("overlap only", "the others"), alone.values()):
    print(f"elsewhere, {name}:", *(f"{a:.3f}" for a in found))

# %%
# check 15.9-C8: overlap solves much of NSP, and little of its harder forms
if full:
    assert all(0.745 < a < 0.775 for a in accuracy["elsewhere"])
    assert all(0.5 < a < 0.56 for a in accuracy["paragraph"])
    assert all(0.47 < a < 0.53 for a in accuracy["order"])
    overlap, others = alone.values()
    assert max(abs(a - b) for a, b in zip(
        overlap, accuracy["elsewhere"])) < 0.01 and max(others) < 0.55

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 2.3))
shown = ("another paragraph", "the same paragraph", "swapped order")
for y, kind in enumerate(kinds):
    ax.plot(accuracy[kind], [y] * seeds, "o", mfc="none", color="C0")
ax.axvline(0.5, color="C1", lw=1, ls="--")
ax.set(xlim=(0.45, 0.85), ylim=(2.5, -0.5), yticks=range(3),
       yticklabels=shown, xlabel="accuracy on the test part")
d2l.describe(ax, """Accuracies of the logistic regression, three draws each.
    With negatives of another paragraph about 0.76, of the same paragraph
    about 0.53, with swapped order about 0.51. A dashed line marks 0.5.""")

# %% [markdown]
# **Figure 15.9.5.** Accuracy of the five numbers for three kinds of negatives, three draws of pairs each; dashed: guessing.
#
# With negatives from other paragraphs (BERT takes them from other documents, and its texts are longer), the five numbers reach about 76 %; the two about the overlap reach the same within a point, the other three less than 55 %.
# If only the negatives change and come from the same paragraph, they reach less than 56 % (pairs without a third sentence in their paragraph drop out); with the two sentences swapped, where the overlap is the same in both orders, less than 53 %.
# Much of NSP on this text can thus be solved by counting shared words, a measure of topic more than of order, and an NSP accuracy means little before it is compared with such a baseline.
# A network may of course learn more than the five numbers; that is a question for [Section 15.10](10-bert-pretraining.ipynb).
#
# Lan and others (2019) argue that NSP mixes topic with coherence, of which topic is the easier part; their ALBERT replaced it by *sentence order prediction*, our third kind of negatives.
# In their comparison at the size of ALBERT-base, a network trained on NSP tells the order of two texts with an accuracy of 52.0 %, no better than one trained on neither task, while one trained on order reaches 78.9 % in NSP.
# RoBERTa dropped the task, and its inputs are full sentences in a row, across the ends of documents, up to 512 tokens.
# MosaicBERT (Portes and others, 2023) and ModernBERT (Warner and others, 2024) have no such task either, and mask 30 % of the tokens instead of 15; Wettig and others (2022) found 40 % better than 15 % on GLUE and SQuAD for models of the size of BERT-large.
# All three kinds and all rates are one argument away in `BERTData`.
#
# In BERT a "sentence" is any stretch of text: its program fills 128 or 512 tokens with several sentences on either side.
# Ours are single sentences, so with 128 tokens more than half of a batch is padding.

# %%
for size, nsp in ((64, True), (64, False), (128, True)):
    lens = BERTData(512, size, text, nsp=nsp).train[2].double()
    print(f"max_len {size}, {'pairs' if nsp else 'single sentences'}: "
          f"{1 - lens.mean() / size:.0%} padding")
assert not full or lens.mean() < 64  # of 128

# %% [markdown]
# Joining texts until a row is full is called *packing* (Exercise 15.9-5); ModernBERT trains on packed rows.
#
# ## Summary
#
# - One batch holds seven tensors; labels of $-100$ and weights both say which predictions count.
# - Negatives are drawn from another paragraph and drawn again if they read like the true next sentence.
# - Each text gets $\max(1,\mathrm{round}(0.15n))$ predictions; no special token is chosen, and none but `<mask>` is inserted; random keys choose the positions for all rows at once.
# - Dynamic masking asks for new tokens in every epoch; validation masks stay fixed.
# - Counts of shared words reach about 76 % in next sentence prediction on WikiText-2; with negatives of the same paragraph, all five numbers stay below 56 %.

# %% [markdown]
# ## Exercises
# %% [markdown]
# ### Exercise 15.9-1
#
# Let question and exclamation marks end a sentence, too.
# How many more sentences does WikiText-2 have, and how many more pairs?

# %% [markdown]
# #### Solution 15.9-1

# %% [markdown]
# We split what `paragraphs` returns once more, at marks between blanks, and keep the mark with its sentence.

# %%
def split_more(sentence):
    """The parts of a string, each with the "?" or "!" that ends it."""
    parts, start, words = [], 0, sentence.split()
    for i, word in enumerate(words):
        if word in "?!":
            parts.append(words[start:i + 1])
            start = i + 1
    return [" ".join(p) for p in (*parts, words[start:]) if p]


old = paragraphs(wiki)
new = [[t for s in p for t in split_more(s)] for p in old]
(n, pairs_n), (n2, pairs_n2) = (
    (sum(map(len, ps)), sum(len(p) - 1 for p in ps)) for ps in (old, new))
print(f"{n} sentences, {n2 - n} more; {pairs_n2 - pairs_n} more pairs")
marks = sum(word in "?!" and i + 1 < len(words) and words[i + 1] not in "?!"
            for p in old for s in p for words in [s.split()]
            for i, word in enumerate(words))
doubled = sum(word in "?!" and words[i + 1:i + 2] in (["?"], ["!"])
              for p in old for s in p for words in [s.split()]
              for i, word in enumerate(words))
assert n2 - n == marks + doubled == pairs_n2 - pairs_n
assert split_more("who ? me ! yes") == ["who ?", "me !", "yes"]
assert [" ".join(p) for p in new] == [" ".join(" ".join(p).split())
                                      for p in old]

# %% [markdown]
# Each new sentence is one more pair, because paragraphs stay what they were.
# A doubled mark counts as a sentence of its own here; `wiki_text`, which drops sentences of fewer than four words, would gain fewer of both.
# Many of these marks stand inside titles and quotations, which are then torn apart.

# %% [markdown]
# ### Exercise 15.9-2
#
# Take whole lower-case words as tokens.
# How large is the vocabulary of the training part with `min_freq=5` and without a limit, and which share of the tokens of the test part is unknown?

# %% [markdown]
# #### Solution 15.9-2

# %%
parts = []
for name in ("valid.txt", "test.txt"):
    part = replace(wiki, files={name: wiki.files[name]})
    parts.append([[s.lower().split() for s in p] for p in paragraphs(part)])
sizes, unknown = [], []
for min_freq in (5, 0):
    words = word_text(*parts, min_freq)
    ids = torch.tensor([i for p in words.val for s in p for i in s])
    sizes.append(len(words.vocab))
    unknown.append((ids == words.vocab.unk).double().mean().item())
    print(f"min_freq {min_freq}: {sizes[-1]} entries, {unknown[-1]:.1%} "
          "unknown in the test part")
ids = torch.tensor([i for p in text.val for s in p for i in s])
share = (ids == pieces.unk).double().mean().item()
print(f"WordPiece: {len(pieces)} entries, {share:.1%} unknown")
marked = sum(s.count("<unk>") for p in parts[1] for s in p)
print(f"{marked / sum(len(s) for p in parts[1] for s in p):.1%} of the words "
      "are <unk> in the file")
assert sizes[0] < sizes[1] and unknown[0] > unknown[1]
if full:
    assert sizes[1] > 2 * sizes[0] and share < unknown[1]
    assert 0.9 < marked / (ids == pieces.unk).sum() < 1.1

# %% [markdown]
# Without a limit the vocabulary is more than twice as large; the words that it adds occur fewer than five times, too seldom to learn much about them.
# The unknown tokens of the WordPieces are all words that the makers of WikiText-2 had replaced.

# %% [markdown]
# ### Exercise 15.9-3
#
# SpanBERT (Joshi and others, 2019) masks spans of whole words; their lengths, in words, follow a geometric law with $p=0.2$, are at most ten, and have a reported mean of 3.8.
# What is the mean if longer draws are set to ten, and what if they are drawn again?
# Which of the two gives the reported number?
# Write a function that chooses spans of such lengths, in tokens, until at least 15 % of a text is covered.

# %% [markdown]
# #### Solution 15.9-3

# %% [markdown]
# With $q=1-p$, lengths set to ten have the mean $\sum_{l=1}^{10}P(\ell\ge l)=\sum_{l=0}^{9}q^l=(1-q^{10})/p=4.46$.
# Lengths drawn again follow the law $pq^{l-1}/(1-q^{10})$ and have the mean 3.80, which is the reported number, although the paper says that it clips the lengths.

# %%
q = 0.8
law = torch.tensor([0.2 * q**i for i in range(10)], dtype=torch.float64)
law /= law.sum()
clipped = (1 - q**10) / 0.2
drawn_again = (law * torch.arange(1, 11)).sum().item()
print(f"set to ten {clipped:.2f}, drawn again {drawn_again:.2f}")
assert abs(clipped - 4.46) < 0.005 and abs(drawn_again - 3.80) < 0.005

def choose_spans(n, rng, rate=0.15):
    """Places (n,), booleans, and the lengths of the spans drawn."""
    chosen, lengths = torch.zeros(n, dtype=torch.bool), []
    while chosen.sum() < rate * n:
        size = int(torch.multinomial(law, 1, generator=rng)) + 1
        start = int(torch.randint(max(1, n - size + 1), (1,), generator=rng))
        chosen[start:start + size] = True
        lengths.append(min(size, n))
    return chosen, lengths


rng.manual_seed(seed)
draws = [choose_spans(200, rng) for _ in range(300)]
lengths = torch.tensor([x for _, some in draws for x in some]).double()
error = (law * torch.arange(1, 11) ** 2).sum().item() - drawn_again**2
error = (error / len(lengths)) ** 0.5
print(f"mean of {len(lengths)} spans: {lengths.mean():.2f} ± {error:.2f}")
assert abs(lengths.mean() - drawn_again) < 3 * error
assert all(30 <= c.sum() < 40 for c, _ in draws)

# %% [markdown]
# ### Exercise 15.9-4
#
# In `ToyWorld`, with which probability do two scenes share the noun?
# A pair is *consistent* if a scene exists in which both sentences are true.
# Which accuracy does the answer "next, if consistent" reach?

# %% [markdown]
# #### Solution 15.9-4

# %% [markdown]
# Nouns are drawn uniformly from twelve, so the probability is $\frac1{12}$.
# Sentences say less than the scene, so more pairs than that cannot be refuted.

# %%
def consistent(a, b):
    """Whether a scene of the toy world can make both sentences true."""
    kinds, nouns, parts = ToyWorld.kinds, set(ToyWorld.kinds), {}
    for word in a + b:
        if word in kinds or word in kinds.values():
            nouns &= {n for n in kinds if word in (n, kinds[n])}
        for part in ("adjective", "verb", "place"):
            if word in ToyWorld.categories[part]:
                parts.setdefault(part, set()).add(word)
    return len(nouns) > 0 and all(len(found) == 1
                                  for found in parts.values())


world = ToyWorld(seed + 1)
n = 20_000
same = sum(world.scene().noun == world.scene().noun for _ in range(n)) / n
print(f"the same noun: {same:.4f}, 1/12 = {1 / 12:.4f}")
assert abs(same - 1 / 12) < 3 * (1 / 12 * 11 / 12 / n) ** 0.5
told = [world.paragraph(3) for _ in range(3000)]
found = next_sentence_pairs(told, rng.manual_seed(seed))
assert all(consistent(a, b) for a, b, label in found if label)
passed = [consistent(a, b) for a, b, label in found if not label]
share = sum(passed) / len(passed)
right = sum(consistent(a, b) == label for a, b, label in found) / len(found)
print(f"{share:.3f} of the negatives are consistent; accuracy {right:.3f}")
assert 0.1 < share < 0.15 and abs(right - (1 - share / 2)) < 0.02

# %% [markdown]
# About 13 % of the negatives cannot be refuted, and the rule is right in about 93 % of the pairs.
# This is a reference value for the NSP accuracy in [Section 15.10](10-bert-pretraining.ipynb), not a limit: a sentence that begins with "it" is never the first of its paragraph, which says something about the label, too.

# %% [markdown]
# ### Exercise 15.9-5
#
# Pack the sentences of the training part into rows of at most 128 tokens: `<cls>`, then sentences that each end in `<sep>`, as long as they fit.
# How much padding is left, and why must the order of the sentences be kept?

# %% [markdown]
# #### Solution 15.9-5

# %%
def pack(sentences, max_len, vocab):
    """Rows (n, max_len) of whole sentences, in order; long ones are cut."""
    rows, row = [], [vocab.cls]
    for s in sentences:
        s = [*s[:max_len - 2], vocab.sep]
        if len(row) + len(s) > max_len:
            rows.append(row)
            row = [vocab.cls]
        row = row + s
    rows.append(row)
    return torch.tensor([r + [vocab.pad] * (max_len - len(r)) for r in rows])


sentences = [s for p in text.train for s in p]
packed = pack(sentences, 128, pieces)
left = (packed == pieces.pad).double().mean().item()
alone = pad_bert([(s, None, 0) for s in sentences], 128, pieces)[0]
before = (alone == pieces.pad).double().mean().item()
print(f"{len(alone)} rows, {before:.0%} padding; packed {len(packed)} rows, "
      f"{left:.0%}")
words = [t[pieces.is_ordinary[t] | (t == pieces.unk)]
         for t in (packed.flatten(), alone.flatten())]
assert torch.equal(*words) and left < before / 3
assert (packed == pieces.sep).sum() == len(sentences)

# %% [markdown]
# In a row of neighbours a masked word can be guessed from the sentences around it; a random mixture would fill rows equally well and take that away.
# Here rows also cross the ends of paragraphs, as in RoBERTa's; attention sees across them unless a mask forbids it.

# %% [markdown]
# ## Sources
#
# - J. Devlin, M.-W. Chang, K. Lee, K. Toutanova (2018). BERT: pre-training of deep bidirectional transformers for language understanding. [arXiv:1810.04805](https://arxiv.org/abs/1810.04805).
# - Google Research (2018). [BERT: create_pretraining_data.py](https://github.com/google-research/bert/blob/master/create_pretraining_data.py): the program; rounding, ten draws of a document, 1 for a random second text, random tokens of the whole vocabulary.
# - S. Merity, C. Xiong, J. Bradbury, R. Socher (2016). Pointer sentinel mixture models. [arXiv:1609.07843](https://arxiv.org/abs/1609.07843): WikiText-2.
# - Y. Liu and others (2019). RoBERTa: a robustly optimized BERT pretraining approach. [arXiv:1907.11692](https://arxiv.org/abs/1907.11692): static and dynamic masking, inputs without NSP.
# - Z. Lan, M. Chen, S. Goodman, K. Gimpel, P. Sharma, R. Soricut (2019). ALBERT: a lite BERT for self-supervised learning of language representations. [arXiv:1909.11942](https://arxiv.org/abs/1909.11942): sentence order; the two accuracies (its Table 5).
# - M. Joshi, D. Chen, Y. Liu, D. S. Weld, L. Zettlemoyer, O. Levy (2019). SpanBERT: improving pre-training by representing and predicting spans. [arXiv:1907.10529](https://arxiv.org/abs/1907.10529).
# - A. Wettig, T. Gao, Z. Zhong, D. Chen (2022). Should you mask 15 % in masked language modeling? [arXiv:2202.08005](https://arxiv.org/abs/2202.08005).
# - J. Portes and others (2023). MosaicBERT: a bidirectional encoder optimized for fast pretraining. [arXiv:2312.17482](https://arxiv.org/abs/2312.17482).
# - B. Warner and others (2024). Smarter, better, faster, longer: a modern bidirectional encoder for fast, memory efficient, and long context finetuning and inference. [arXiv:2412.13663](https://arxiv.org/abs/2412.13663): ModernBERT.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the two shortcuts named above.
