# ---
# jupyter:
#   d2l:
#     data: [minilm, bert-vocab, ud-ewt, conll2000, wnut17, stsb, wikitext-2]
#     profiles:
#       gpu:
#         num_train: 2000
#         num_test: 2000
#         num_paragraphs: 1000
#         toy_steps: 2500
#       smoke:
#         num_train: 40
#         num_test: 30
#         num_pairs: 60
#         num_paragraphs: 40
#         toy_steps: 12
#         span_steps: 6
#         head_steps: 20
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
# # 16.6 Fine-tuning BERT for sequence-level and token-level applications
#
# A pretrained encoder gives one vector per token.
# What turns these vectors into a label, a number, a tag for each word, or an answer?
# The added layers are tiny; the mistakes happen around them, where labels meet pieces of words and where scores become spans.
#
# **You will**
#
# - attach the four heads of BERT: to a text, a pair of texts, every token, and a span;
# - align labels of words with pieces, and decode tags and spans as they should be;
# - measure what a frozen encoder knows about word classes, chunks and names, with the baselines that belong to it;
# - embed texts once and compare them by dot products, and search with words, with vectors and with both.
#
# **Cost**: TODO

# %%
import collections
import csv
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import binomtest, spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.computer_vision import (
    LoRALinear, add_lora, evaluating, merge_lora)
from d2l_helpers.chapters.nlp_pretraining import (
    BERTEncoder, encode_bert, pad_bert, small_bert, toy_bert)
from d2l_helpers.pretrained import MiniLM, cached_features, minilm
from d2l_helpers.texts import ToyWorld, paragraphs

d2l.use_style()
device = d2l.try_device()

# %% tags=["parameters"]
num_train, num_test = 600, 400  # sentences of each set with tags
num_pairs = 1379  # pairs of STS-B, all of its test part
num_paragraphs = 500  # among which a sentence finds its own
toy_steps = 750  # of pretraining in the toy world
span_steps = 150  # of fine-tuning
head_steps = 150  # of a linear head on frozen vectors
seed = 0

# %% [markdown]
# ## Four heads
#
# TODO

# %% tags=["export"]
class SequenceHead(nn.Module):
    """`num_outputs` scores for each text, from the vector of "<cls>".

    A layer with tanh (BERT's pooler, with the names of `BERTModel.pooler`),
    dropout and a linear layer. Source: Devlin et al. (2018),
    arXiv:1810.04805.
    """

    def __init__(self, num_hiddens, num_outputs, dropout=0.1):
        super().__init__()
        self.pooler = nn.Sequential(nn.Linear(num_hiddens, num_hiddens),
                                    nn.Tanh())
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(num_hiddens, num_outputs)

    def forward(self, states):
        """(b, num_outputs), for states (b, n, num_hiddens) of an encoder."""
        if states.dim() != 3:
            raise ValueError(
                f"states has the shape {tuple(states.shape)}; give the "
                "vectors of all tokens, (b, n, num_hiddens).")
        return self.output(self.dropout(self.pooler(states[:, 0])))


class PairRegressionHead(nn.Module):
    """One number for each pair of texts, read as one sequence."""

    def __init__(self, num_hiddens, dropout=0.1):
        super().__init__()
        self.head = SequenceHead(num_hiddens, 1, dropout)

    def forward(self, states):
        """(b,), for states (b, n, num_hiddens) of an encoder."""
        return self.head(states).squeeze(-1)


class TaggingHead(nn.Module):
    """`num_tags` scores for each token: dropout and one linear layer."""

    def __init__(self, num_hiddens, num_tags, dropout=0.1):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(num_hiddens, num_tags)

    def forward(self, states):
        """(..., num_tags), for states (..., num_hiddens)."""
        return self.output(self.dropout(states))

# %% tags=["export"]
class SpanHead(nn.Module):
    """Two scores for each token: a span starts, or ends, there."""

    def __init__(self, num_hiddens):
        super().__init__()
        self.output = nn.Linear(num_hiddens, 2)

    def forward(self, states, passage=None):
        """Scores of starts and of ends, (b, n) each.

        `states` is (b, n, num_hiddens), `passage` booleans (b, n) that are
        True where an answer may stand: by default everywhere. All other
        scores are -inf, so a softmax gives these positions 0. Every text
        needs a position where an answer may stand.
        """
        scores = self.output(states)
        if passage is not None:
            scores = scores.masked_fill(~passage[..., None], -math.inf)
        return scores.unbind(-1)

# %%
# check 16.6-C1: shapes of the four heads
X = torch.randn(5, 7, 16, generator=torch.Generator().manual_seed(seed))
torch.manual_seed(seed)
heads = [SequenceHead(16, 3), PairRegressionHead(16), TaggingHead(16, 9),
         SpanHead(16)]
shapes = [tuple(head(X).shape) for head in heads[:3]]
assert shapes == [(5, 3), (5,), (5, 7, 9)]
assert [tuple(s.shape) for s in heads[3](X)] == [(5, 7), (5, 7)]

# %% tags=["export"]
def best_span(start, end, max_len=None):
    """The span (i, j) with i <= j whose start[i] + end[j] is largest.

    `start` and `end` are scores (n,), -inf where no answer may stand. The
    span holds the tokens i to j, both included: at most `max_len` of them.
    Of equal sums the first end and its first start win. Raises ValueError
    for scores of different or no length, with nan, or without any span.
    """
    start, end = (torch.as_tensor(each).tolist() for each in (start, end))
    if len(start) != len(end) or any(map(math.isnan, start + end)):
        raise ValueError(f"start has {len(start)} scores, end {len(end)}; "
                         "give as many, none of them nan.")
    if max_len is not None and max_len < 1:
        raise ValueError(f"max_len is {max_len}; a span has 1 token at least.")
    best, span, first = -math.inf, None, 0
    for j, score in enumerate(end):
        if max_len is not None:  # look back as far as the limit allows
            window = range(max(0, j - max_len + 1), j + 1)
            first = max(window, key=start.__getitem__)
        elif start[j] > start[first]:
            first = j  # the best start so far
        if start[first] + score > best:
            best, span = start[first] + score, (first, j)
    if span is None:
        raise ValueError("no span has a finite score; check the mask.")
    return span

# %% tags=["export"]
def align_labels(word_labels, word_ids):
    """Labels of words for their pieces: first piece, -100 elsewhere.

    `word_labels` is a list of integers, `word_ids` the index of the word of
    each piece, None for special tokens. Returns a list as long as
    `word_ids`. Raises ValueError for an index without a label.
    """
    found, before = [], None
    for word in word_ids:
        if word is not None and not 0 <= word < len(word_labels):
            raise ValueError(f"a piece belongs to word {word}, but there are "
                             f"{len(word_labels)} labels.")
        new = word is not None and word != before
        found.append(word_labels[word] if new else -100)
        before = word
    return found


def bio_decode(tags):
    """The spans of BIO tags: a list of (kind, first, stop), half-open.

    Tags are "O", "B-kind" or "I-kind". An I- that continues no span of its
    own kind begins one, as in the scorer of CoNLL-2000. Raises ValueError
    for any other tag.
    """
    spans, before = [], None
    for i, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        if mark not in ("B", "I", "O") or (mark == "O") != (not kind):
            raise ValueError(f"{tag!r} is no tag; use 'O', 'B-kind' or "
                             "'I-kind'.")
        if mark == "B" or (mark == "I" and kind != before):
            spans.append((kind, i, i + 1))
        elif mark == "I":
            spans[-1] = (kind, spans[-1][1], i + 1)
        before = kind or None
    return spans


def span_f1(gold, predicted):
    """Precision, recall and F1 of the spans of many sentences.

    Both are lists of lists of BIO tags. A span counts if kind and both ends
    agree; without any span in common all three are 0. Raises ValueError if
    a sentence has another number of tags.
    """
    hits = told = true = 0
    for one, other in zip(gold, predicted, strict=True):
        if len(one) != len(other):
            raise ValueError(f"a sentence has {len(one)} tags and "
                             f"{len(other)} predictions.")
        a, b = set(bio_decode(one)), set(bio_decode(other))
        hits, true, told = hits + len(a & b), true + len(a), told + len(b)
    if not hits:
        return 0.0, 0.0, 0.0
    return hits / told, hits / true, 2 * hits / (told + true)

# %% tags=["export"]
class BiEncoder:
    """Texts to vectors of length 1, each text on its own.

    `encoder` is a module in evaluation mode whose `encode` takes a list of
    strings and gives (n, d), such as `minilm()`. Source: Reimers and
    Gurevych (2019), arXiv:1908.10084.
    """

    def __init__(self, encoder):
        self.encoder = encoder

    def embed(self, texts, batch_size=32):
        """Vectors (n, d) on the CPU, computed once and kept on the disk.

        Texts of similar length share a batch; the order stays.
        """
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"texts is {texts!r}; give a list of strings.")
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        (vectors,) = cached_features(
            self.encoder, "encode", [texts[i] for i in order], batch_size)
        back = torch.tensor(order).argsort()
        return F.normalize(vectors, dim=1)[back]


def retrieve(q, D, k):
    """The k rows of D (n, d) with the largest dot products with q.

    `q` is (d,) or (m, d). Returns scores and indices, (k,) or (m, k), best
    first. Raises ValueError unless 1 <= k <= n.
    """
    if not 1 <= k <= len(D):
        raise ValueError(f"k is {k}; there are {len(D)} texts to find.")
    return (q @ D.T).topk(k)

# %% tags=["export"]
def info_nce(q, d, tau=0.05):
    """Mean of -log softmax(q d^T / tau) at the matching pairs, in nats.

    `q` and `d` are (b, h), row i of one belongs to row i of the other, and
    all other rows of d are its negatives; give vectors of length 1 for
    cosines. Source: van den Oord et al. (2018), arXiv:1807.03748. Raises
    ValueError unless tau > 0.
    """
    if not tau > 0:
        raise ValueError(f"tau is {tau}; a temperature is positive.")
    scores = q @ d.T / tau  # (b, b), matches on the diagonal
    return F.cross_entropy(scores, torch.arange(len(q), device=q.device))

# %%
# check 16.6-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C7: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C8: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C9: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C10: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.6-C11: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 16.6-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.6-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.6-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.6-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.6-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.6-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.6-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.6-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.6-5
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.6-5

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
