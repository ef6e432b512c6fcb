"""Chapter 15, Natural language processing: pretraining: what its sections teach and later ones use.

Generated from book/15-nlp-pretraining/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import csv
import d2l_helpers as d2l
import functools
import heapq
import math
import numpy as np
import re
import torch
import unicodedata
from collections import Counter
from collections import defaultdict
from d2l_helpers.chapters.attention_and_transformers import TransformerEncoderBlock
from d2l_helpers.chapters.attention_and_transformers import apply_merges
from d2l_helpers.chapters.attention_and_transformers import apply_rope
from d2l_helpers.chapters.attention_and_transformers import merge
from d2l_helpers.chapters.computer_vision import evaluating
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.optimization import train_scheduled
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.pretrained import kept
from d2l_helpers.texts import ToyWorld
from d2l_helpers.texts import paragraphs
from d2l_helpers.texts import word_sentences
from d2l_helpers.wordpiece import WordPiece
from dataclasses import replace
from scipy import sparse
from scipy.sparse.linalg import svds
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F
from typing import NamedTuple


# 15.1 Word embedding (word2vec)
def skipgram_pairs(tokens, m):
    """All pairs of a word and a word at most m places away.

    `tokens` (T,) holds the integer indices of one sequence, such as a
    sentence. Returns integers (n, 2), center and context, in the order of
    the text; for T > m there are n = 2 m T - m (m + 1) pairs. Raises
    `ValueError` for words instead of indices, for another shape, and for
    m < 1. Source: Mikolov et al., 2013.
    """
    if len(tokens) and isinstance(tokens[0], str):
        raise ValueError(f"the first token is {tokens[0]!r}; look up the "
                         "indices of the words first.")
    tokens = torch.as_tensor(tokens).long()
    if tokens.ndim != 1 or m < 1:
        raise ValueError(f"tokens of shape {tuple(tokens.shape)} and m = {m}"
                         "; one sequence (T,) and m >= 1 are needed.")
    places = torch.arange(len(tokens), device=tokens.device)[:, None]
    steps = torch.arange(1, m + 1, device=tokens.device)  # (m,)
    near = places + torch.cat((-steps.flip(0), steps))  # (T, 2m)
    inside = (near >= 0) & (near < len(tokens))
    centers = tokens[:, None].expand_as(near)[inside]  # (n,)
    return torch.stack((centers, tokens[near[inside]]), dim=1)


# 15.1 Word embedding (word2vec)
def check_words(U, V, inputs, outputs):
    """The indices as tensors; `ValueError` unless everything fits.

    U and V need the same shape (words, d), and `inputs` (..., k) or (...)
    and `outputs` (...) must be integers.
    """
    inputs, outputs = (torch.as_tensor(index, device=U.device)
                       for index in (inputs, outputs))
    if U.ndim != 2 or U.shape != V.shape:
        raise ValueError(f"U has shape {tuple(U.shape)} and V "
                         f"{tuple(V.shape)}; both need (words, d).")
    if inputs.is_floating_point() or outputs.is_floating_point():
        raise ValueError(f"indices of words are of types {inputs.dtype} and "
                         f"{outputs.dtype}; convert them to integers.")
    if outputs.shape not in (inputs.shape, inputs.shape[:-1]):
        raise ValueError(f"words of shapes {tuple(inputs.shape)} and "
                         f"{tuple(outputs.shape)} do not belong together; "
                         "give one output for each input.")
    return inputs, outputs


# 15.1 Word embedding (word2vec)
def softmax_logprob(U, H, y):
    """log P of the words y (...) with scores H @ U.mT, for H (..., d)."""
    log_p = F.log_softmax(H @ U.mT, dim=-1)  # (..., words)
    return log_p.gather(-1, y[..., None]).squeeze(-1)


def skipgram_logprob(U, V, c, o):
    """log P(o | c) of the skip-gram model, (15.1.2).

    U and V (words, d) hold context and center vectors, c and o (...) the
    indices of center and context words; the result (...) is in nats. Raises
    `ValueError` if shapes or types do not fit. Source: Mikolov et al., 2013.
    """
    c, o = check_words(U, V, c, o)
    if c.shape != o.shape:
        raise ValueError(f"c has shape {tuple(c.shape)} and o "
                         f"{tuple(o.shape)}; give one context for each.")
    return softmax_logprob(U, V[c], o)


# 15.1 Word embedding (word2vec)
def residuals(U, H, y):
    """Observed minus expected, (n, words): 1 at the words y (n,), minus P.

    P is the softmax of the scores H @ U.mT of the hidden vectors H (n, d).
    """
    R = -torch.softmax(H @ U.mT, dim=-1)  # (n, words)
    R[torch.arange(len(y), device=y.device), y] += 1
    return R


def skipgram_grads(U, V, c, o):
    """Gradients of the sum of log P(o | c) with respect to U and V.

    Arguments as for `skipgram_logprob`, with vectors c and o (n,). Returns
    (grad_U, grad_V), both (words, d), by (15.1.4) and (15.1.5). Source:
    Rong, 2014.
    """
    c, o = check_words(U, V, c, o)
    R = residuals(U, V[c], o)  # (n, words)
    grad_V = torch.zeros_like(V).index_add(0, c, R @ U)
    return R.mT @ V[c], grad_V


# 15.1 Word embedding (word2vec)
def cbow_logprob(U, V, context, c):
    """log P(c | context) of the CBOW model, (15.1.6).

    U and V (words, d) hold center and context vectors, `context` (..., k)
    the indices of k context words and c (...) the center words; the result
    (...) is in nats. At the end of a text k may be smaller. Raises
    `ValueError` if shapes or types do not fit. Source: Mikolov et al., 2013.
    """
    context, c = check_words(U, V, context, c)
    if context.ndim == c.ndim or not context.shape[-1]:
        raise ValueError(f"context has shape {tuple(context.shape)}; it "
                         "needs at least one word for each center word.")
    return softmax_logprob(U, V[context].mean(dim=-2), c)


def cbow_grads(U, V, context, c):
    """Gradients of the sum of log P(c | context) with respect to U and V.

    Arguments as for `cbow_logprob`, with `context` (n, k) and c (n,).
    Returns (grad_U, grad_V), both (words, d), by (15.1.7). Source: Rong,
    2014.
    """
    context, c = check_words(U, V, context, c)
    H = V[context].mean(dim=1)  # (n, d)
    R = residuals(U, H, c)  # (n, words)
    share = (R @ U / context.shape[1]).repeat_interleave(
        context.shape[1], dim=0)  # (n * k, d)
    grad_V = torch.zeros_like(V).index_add(0, context.flatten(), share)
    return R.mT @ H, grad_V


# 15.1 Word embedding (word2vec)
def fit_full_softmax(X, d, epochs=2000, lr=0.05, tol=1e-4, seed=0):
    """Skip-gram by full-batch Adam on the counts of pairs, (15.1.8).

    X (words, words) holds floating-point counts of centers (rows) and
    contexts (columns). Entries start as normal numbers of variance 1 / d.
    Stops when the norm of the gradient of the loss is below `tol`, or after
    `epochs` steps; with 0 it returns the start. Returns U and V (words, d),
    of the type and device of X, and the losses in nats per pair. Raises
    `ValueError` unless X is a square table with a positive sum.
    """
    square = X.ndim == 2 and len(X) == X.shape[-1]
    if not square or not X.is_floating_point() or not X.sum() > 0:
        raise ValueError(f"X of shape {tuple(X.shape)} and type {X.dtype} is "
                         "no square table of floating-point counts, not all "
                         "0.")
    generator = torch.Generator().manual_seed(seed)
    U, V = (torch.randn(len(X), d, generator=generator, dtype=X.dtype)
            .to(X.device) / d**0.5 for _ in "UV")
    X, losses = X / X.sum(), []
    optimizer = torch.optim.Adam((U, V), lr)
    for _ in range(epochs):
        log_p = F.log_softmax(V @ U.mT, dim=1)  # (words, words)
        R = X - X.sum(dim=1, keepdim=True) * log_p.exp()
        U.grad, V.grad = -R.mT @ V, -R @ U
        losses.append(-(X * log_p).sum().item())
        if torch.hypot(U.grad.norm(), V.grad.norm()) < tol:
            break
        optimizer.step()
    U.grad = V.grad = None
    return U, V, losses


# 15.2 Approximate training
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


# 15.2 Approximate training
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


# 15.2 Approximate training
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
def noise_weights(counts, power=0.75):
    """counts ** power (V,), float64, and 0 for words that do not occur.

    The law of negatives of Mikolov et al. (2013), arXiv:1310.4546.
    """
    weights = counts.to(torch.float64) ** power
    return torch.where(counts > 0, weights, 0.0)


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.3 The dataset for pretraining word embeddings
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


# 15.4 Pretraining word2vec
def judged_pairs(path):
    """Pairs of words with the similarity that people gave them.

    Parameters
    ----------
    path : pathlib.Path
        A file of `fetch("word-similarity")`: two words and a number, separated
        by tabs; lines that begin with `#` are comments.

    Returns
    -------
    list of (str, str, float)
        In the order of the file, in lower case.

    Raises
    ------
    ValueError
        For a line of another form.
    """
    pairs = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            first, second, score = line.split("\t")
            pairs.append((first.lower(), second.lower(), float(score)))
        except ValueError:
            raise ValueError(
                f"Line {number} of {path.name}, {line!r}, is not two words "
                "and a number separated by tabs.") from None
    return pairs


# 15.4 Pretraining word2vec
def similarity_score(W, vocab, pairs):
    """Rank correlation of the cosines of word vectors with human judgements.

    Parameters
    ----------
    W : Tensor of shape (V, d)
        A vector for each entry of the vocabulary; a zero vector has cosine 0
        with every other.
    vocab : Vocab
        With the index of a word; pairs with a word it does not hold are left
        out.
    pairs : list of (str, str, float)
        Of `judged_pairs`.

    Returns
    -------
    rho : float
        Spearman's rank correlation over the covered pairs, average ranks for
        ties.
    covered : int
        The number n of covered pairs.

    Raises
    ------
    ValueError
        If W has not one row for each word, or fewer than three pairs are
        covered.
    """
    if len(W) != len(vocab):
        raise ValueError(f"{len(W)} vectors for {len(vocab)} words; give one "
                         "row for each entry of the vocabulary.")
    known = [(vocab[a], vocab[b], score) for a, b, score in pairs
             if a in vocab.token_to_idx and b in vocab.token_to_idx]
    if len(known) < 3:
        raise ValueError(f"Only {len(known)} of {len(pairs)} pairs are in the "
                         "vocabulary; a rank correlation needs at least 3.")
    first, second, scores = zip(*known, strict=True)
    W = torch.nn.functional.normalize(W.detach().float(), dim=1)
    cosines = (W[list(first)] * W[list(second)]).sum(dim=1)
    return float(spearmanr(cosines.cpu(), scores).statistic), len(known)


# 15.4 Pretraining word2vec
def shuffled(ids, rng=None):
    """The words of a corpus in random order: same counts, no context.

    `ids` (T,) are indices of words, `rng` a generator of the CPU. Returns
    a permuted copy; with the old `sentence_ids`, each sentence keeps its
    length and gets other words.
    """
    order = torch.randperm(len(ids), generator=rng)
    return ids[order.to(ids.device)]


# 15.4 Pretraining word2vec
def skip_gram(centers, contexts_negatives, embed_v, embed_u):
    """Scores of words for their centers, (b, 1, L).

    `centers` (b, 1) and `contexts_negatives` (b, L) are indices, as in the
    batches of Section 15.3; the two layers map them to vectors of d
    numbers. Source: Mikolov et al. (2013).
    """
    v = embed_v(centers)  # (b, 1, d)
    u = embed_u(contexts_negatives)  # (b, L, d)
    return torch.bmm(v, u.mT)


# 15.4 Pretraining word2vec
class SkipGram(nn.Module):
    """Two vectors of d numbers for each word; call it with a batch.

    Center vectors start uniform in (-0.5 / d, 0.5 / d), drawn with
    `generator`, context vectors at 0, as in the program of Mikolov et al.
    (2013). With `sparse`, gradients store only the rows that were used.
    Raises ValueError unless both sizes are at least 1.
    """

    def __init__(self, vocab_size, d, sparse=False, generator=None):
        super().__init__()
        if vocab_size < 1 or d < 1:
            raise ValueError(f"{vocab_size} words and d = {d}: both must be "
                             "at least 1.")
        self.embed_v = nn.Embedding(vocab_size, d, sparse=sparse)
        self.embed_u = nn.Embedding(vocab_size, d, sparse=sparse)
        nn.init.uniform_(self.embed_v.weight, -0.5 / d, 0.5 / d, generator)
        nn.init.zeros_(self.embed_u.weight)

    def forward(self, centers, contexts_negatives):
        """Scores (b, 1, L) for indices (b, 1) and (b, L)."""
        u = self.embed_u(contexts_negatives)  # (b, L, d)
        return (self.embed_v(centers) * u).sum(dim=2)[:, None]


# 15.4 Pretraining word2vec
class SigmoidBCELoss(nn.Module):
    """Binary cross-entropy in nats, the mean over what is not masked.

    Call it with scores (b, L), labels (b, L) of 0 and 1 and optional masks
    (b, L), 0 where an entry does not count; each row (b,) is divided by
    the number of its entries that do. Raises ValueError for other shapes.
    """

    def forward(self, scores, labels, masks=None):
        masks = torch.ones_like(scores) if masks is None else masks
        if not scores.shape == labels.shape == masks.shape:
            raise ValueError(
                f"scores {tuple(scores.shape)}, labels {tuple(labels.shape)}"
                f" and masks {tuple(masks.shape)} must have one shape; remove"
                " the middle axis of skip_gram's scores by squeeze(1).")
        each = F.binary_cross_entropy_with_logits(
            scores, labels, weight=masks, reduction="none")
        return each.sum(dim=-1) / masks.sum(dim=-1)


# 15.4 Pretraining word2vec
def train_skipgram(data, d=64, epochs=1, lr=0.02, sparse=False, seed=0,
                   device=None):
    """Train a SkipGram by Adam at a rate that falls linearly to 0.

    Parameters
    ----------
    data : SkipGramData
        Serves the batches, drawn anew in each epoch.
    d, epochs, lr
        Numbers in a vector, passes over the data, rate of the first step.
    sparse : bool
        Gradients of the rows in the batch alone, and SparseAdam.
    seed : int
        Of the start; the order of the data is that of `data`.
    device : torch.device, optional
        Where the tables lie; by default what `try_device` chooses.

    Returns the net and the list of losses of the steps, in nats for each
    pair with its K negatives. Raises ValueError if `epochs` is below 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; train for at least 1.")
    device = d2l.try_device(quiet=True) if device is None else device
    net = SkipGram(len(data.corpus.vocab), d, sparse,
                   torch.Generator().manual_seed(seed)).to(device)
    kind = torch.optim.SparseAdam if sparse else torch.optim.Adam
    bce, loader = SigmoidBCELoss(), data.train_dataloader()
    steps = epochs * len(loader)

    def loss(net, batch):
        centers, words, masks, labels = d2l.to_device(batch, device)
        scores = net(centers, words).squeeze(1)  # (b, 1 + K)
        return labels.shape[1] * bce(scores, labels, masks).mean()

    _, losses = train_scheduled(
        net, loss, lambda: loader, kind(net.parameters(), lr),
        lambda step: lr * max(1 - step / steps, 1e-3), epochs)
    return net, losses


# 15.4 Pretraining word2vec
def nearest(W, i, k=10):
    """The k rows of W (V, d) with the largest cosine to row i, without i.

    Returns their indices (k,) and cosines (k,), largest first. A zero row
    has cosine 0 with all. Raises ValueError unless there are k others.
    """
    if not 1 <= k < len(W):
        raise ValueError(f"k is {k}; {len(W)} rows have 1 to {len(W) - 1} "
                         "neighbors.")
    W = F.normalize(W.detach(), dim=1)
    cosines = W @ W[i]  # (V,)
    cosines[i] = -torch.inf
    best = cosines.topk(k)
    return best.indices, best.values


# 15.5 Word embedding with global vectors (GloVe)
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


# 15.5 Word embedding with global vectors (GloVe)
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


# 15.5 Word embedding with global vectors (GloVe)
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


# 15.5 Word embedding with global vectors (GloVe)
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


# 15.5 Word embedding with global vectors (GloVe)
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


# 15.5 Word embedding with global vectors (GloVe)
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


# 15.6 Subword embedding
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


# 15.6 Subword embedding
def fnv1a(text):
    """The 32-bit hash FNV-1a of a string in UTF-8, an int below 2**32.

    FastText's own code agrees on ASCII; it takes the bytes as signed.
    """
    value = 0x811C9DC5
    for byte in text.encode("utf-8"):
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


# 15.6 Subword embedding
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


# 15.6 Subword embedding
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


# 15.6 Subword embedding
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


# 15.6 Subword embedding
def byte_signs():
    """GPT-2's printable sign for each byte, a dict in the order of ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {
        b: chr(256 + i) for i, b in enumerate(hidden)}


# 15.6 Subword embedding
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


# 15.6 Subword embedding
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


# 15.6 Subword embedding
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


# 15.6 Subword embedding
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


# 15.6 Subword embedding
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


# 15.6 Subword embedding
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


# 15.7 Word similarity and analogy
def read_vectors(path):
    """Words and vectors of a text file: a list (n,) and a tensor (n, d).

    A line holds a word and d numbers between single blanks, and may end
    with more. A first line of two whole numbers, how many words and d, is
    left out. Raises ValueError for a line of another form.
    """
    tokens, rows, d = [], [], None
    with open(path, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1 and (
                    word + values[0]).isdecimal():
                continue
            d = d or len(values)
            try:
                rows.append(np.array(values, dtype=np.float32))
            except ValueError:
                rows.append(None)
            if rows[-1] is None or not word or len(values) != d or d < 1:
                raise ValueError(f"line {number} of {path} is not a word and "
                                 f"{d} numbers between blanks: {line[:40]!r}")
            tokens.append(word)
    if not rows:
        raise ValueError(f"{path} holds no vectors.")
    return tokens, torch.from_numpy(np.stack(rows))


# 15.7 Word similarity and analogy
class TokenEmbedding:
    """Word vectors by name; a word that is not there has the vector 0.

    `source` is the path of a file that `read_vectors` reads, or a pair of a
    list of n words and a tensor (n, d). `idx_to_token`, `token_to_idx` and
    `idx_to_vec` (1 + n, d) begin with "<unk>", whose vector is 0 whatever
    the source says. Raises ValueError if words and rows do not match, or if
    a word comes twice.
    """

    def __init__(self, source):
        tokens, vectors = source if isinstance(source, tuple) else (
            read_vectors(source))
        if vectors.ndim != 2 or len(vectors) != len(tokens):
            raise ValueError(f"{len(tokens)} words need a tensor of as many "
                             f"rows, (n, d); got {tuple(vectors.shape)}.")
        kept = [i for i, token in enumerate(tokens) if token != "<unk>"]
        self.idx_to_token = ["<unk>", *(tokens[i] for i in kept)]
        self.token_to_idx = {t: i for i, t in enumerate(self.idx_to_token)}
        if len(self.token_to_idx) < len(self.idx_to_token):
            twice = Counter(self.idx_to_token).most_common(1)[0][0]
            raise ValueError(f"{twice!r} comes twice; keep one of its rows.")
        rows = torch.tensor(kept, dtype=torch.int64, device=vectors.device)
        self.idx_to_vec = torch.cat((
            vectors.new_zeros(1, vectors.shape[1]), vectors[rows])).detach()


# 15.7 Word similarity and analogy
@add_to_class(TokenEmbedding)
def __len__(self):
    """How many words there are, with "<unk>"."""
    return len(self.idx_to_token)


@add_to_class(TokenEmbedding)
def indices(self, tokens, strict=False):
    """Indices (n,) of a list of words; 0 for a word that is not there.

    If `strict`, a ValueError names such words instead.
    """
    unknown = [t for t in tokens if t not in self.token_to_idx]
    if strict and unknown:
        raise ValueError(f"no vector for {', '.join(unknown[:5])}; leave "
                         "out what is not in token_to_idx.")
    return torch.tensor([self.token_to_idx.get(t, 0) for t in tokens],
                        dtype=torch.int64, device=self.idx_to_vec.device)


@add_to_class(TokenEmbedding)
def __getitem__(self, tokens):
    """Vectors (n, d) of a list of words, or (d,) of one word."""
    if isinstance(tokens, str):
        return self[[tokens]][0]
    return self.idx_to_vec[self.indices(tokens)]


# 15.7 Word similarity and analogy
def cosines(W, x):
    """Cosines (..., V) of queries x (..., d) with the rows of W (V, d).

    A row of zeros has no direction and gets -inf, so it wins no search; a
    query of zeros gets 0. Raises ValueError if the shapes do not fit.
    """
    if W.ndim != 2 or x.ndim < 1 or x.shape[-1] != W.shape[1]:
        raise ValueError(f"vectors {tuple(W.shape)} and queries "
                         f"{tuple(x.shape)} do not fit; (V, d) and (..., d) "
                         "are needed.")
    result = F.normalize(x, dim=-1) @ F.normalize(W, dim=1).mT
    return result.masked_fill_((W == 0).all(dim=1), -math.inf)


# 15.7 Word similarity and analogy
def knn(W, x, k, exclude=None):
    """The k rows of W (V, d) with the largest cosines to each query.

    x (d,) or (n, d) are queries; `exclude` holds indices of rows that may
    not win: (m,) for all queries, or (n, m). Returns cosines and indices,
    (k,) or (n, k), best first. Raises ValueError if k rows are not left, or
    if shapes do not fit.
    """
    near = cosines(W, x)  # (..., V)
    barred = 0 if exclude is None else exclude.shape[-1]
    if not 1 <= k <= len(W) - barred:
        raise ValueError(f"k is {k}; of {len(W)} rows {barred} are excluded, "
                         "choose 1 <= k <= the rest.")
    if exclude is not None:
        if exclude.ndim > 1 and exclude.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"exclude is {tuple(exclude.shape)} and the "
                             f"queries {tuple(x.shape)}; give (m,) or (n, m).")
        near.scatter_(-1, exclude.expand(*x.shape[:-1], barred), -math.inf)
    return near.topk(k, dim=-1)


# 15.7 Word similarity and analogy
def offset_scores(near_a, near_b, near_c, method="add"):
    """Scores of candidates for d from their cosines with a, b and c.

    All three have one shape, which the scores have, too. "add" is 3CosAdd
    (Mikolov et al., 2013), "mul" is 3CosMul (Levy and Goldberg, 2014), both
    for vectors of length 1. Where a cosine with c is -inf, as in
    `cosines`, the score is. Raises ValueError for another method.
    """
    if method == "add":
        scores = (near_b - near_a).add_(near_c)
    elif method == "mul":
        near_a, near_b, shifted = ((near + 1).div_(2)
                                   for near in (near_a, near_b, near_c))
        scores = near_b.mul_(shifted).div_(near_a.add_(1e-3))
    else:
        raise ValueError(f"method is {method!r}; choose 'add' or 'mul'.")
    return scores.masked_fill_(near_c == -math.inf, -math.inf)


# 15.7 Word similarity and analogy
def analogy(a, b, c, emb, k=1, exclude=True, method="add"):
    """The k best words d for "a is to b as c is to d", with their scores.

    `emb` is a `TokenEmbedding`; `method` as for `offset_scores`. With
    `exclude` a, b and c may not answer. Returns a list of (word, score),
    best first. Raises ValueError for an unknown word, or if there are not k
    words to choose from.
    """
    W, inputs = emb.idx_to_vec, emb.indices([a, b, c], strict=True)
    scores = offset_scores(*cosines(W, W[inputs]), method)  # (V,)
    if exclude:
        scores[inputs] = -math.inf
    left = len(emb) - 1 - exclude * len({a, b, c})
    if not 1 <= k <= left:
        raise ValueError(f"k is {k}, and {left} words are left to choose "
                         "from; 1 <= k <= as many is needed.")
    best = scores.topk(k)
    return [(emb.idx_to_token[i], score) for score, i in
            zip(best.values.tolist(), best.indices.tolist())]


# 15.7 Word similarity and analogy
def planted_embeddings(attributes, d=100, noise=0.0, seed=0):
    """A `TokenEmbedding` whose words are sums of what is known of them.

    `attributes` maps each word to its attributes: a list of names, or a
    dictionary from names to weights. Each attribute gets one of d
    orthonormal vectors; to the weighted sum comes a random vector of
    expected squared length noise**2, another for each word. Raises
    ValueError for more than d attributes.
    """
    weights = {word: each if isinstance(each, dict) else dict.fromkeys(
        each, 1.0) for word, each in attributes.items()}
    names = list(dict.fromkeys(n for each in weights.values() for n in each))
    if not 1 <= len(names) <= d:
        raise ValueError(f"{len(names)} attributes in d = {d} dimensions; "
                         "1 to d of them can be orthogonal.")
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(
        d, len(names), generator=generator)).Q.mT  # (attributes, d)
    table = torch.tensor([[each.get(name, 0.0) for name in names]
                          for each in weights.values()])
    extra = torch.randn(len(table), d, generator=generator) * noise / d**0.5
    return TokenEmbedding((list(weights), table @ basis + extra))


# 15.7 Word similarity and analogy
class Answers(NamedTuple):
    """What `evaluate_analogies` found, four tensors (n,) of True or False.

    Was the answer right with a, b and c `excluded`, was it right `raw`; is
    the raw one among the `inputs` a, b and c; and is the nearest `neighbor`
    of c, with a and b left out as well, the answer?
    """

    excluded: torch.Tensor
    raw: torch.Tensor
    inputs: torch.Tensor
    neighbor: torch.Tensor


# 15.7 Word similarity and analogy
def evaluate_analogies(quads, emb, method="add", batch=64):
    """`Answers` to n questions (a, b, c, d), a list of 4 words each.

    `emb` is a `TokenEmbedding` that must have all of the words, `method` as
    for `offset_scores`; `batch` questions are scored at a time. Raises
    ValueError for a word that is not there, or for no question.
    """
    if not quads or any(len(quad) != 4 for quad in quads):
        raise ValueError(f"{len(quads)} questions; one or more are needed, "
                         "of four words each.")
    words = sorted({word for quad in quads for word in quad})
    place = {word: i for i, word in enumerate(words)}
    rows = emb.indices(words, strict=True)  # in the table
    near = cosines(emb.idx_to_vec, emb.idx_to_vec[rows])  # (words, V)
    first = near.topk(min(4, near.shape[1])).indices  # (words, 4)
    index = torch.tensor([[place[word] for word in quad] for quad in quads],
                         device=rows.device)  # (n, 4)
    found = []
    for a, b, c, d in (part.unbind(1) for part in index.split(batch)):
        given = rows[torch.stack((a, b, c), dim=1)]  # (batch, 3)
        scores = offset_scores(near[a], near[b], near[c], method)
        raw = scores.argmax(dim=1)
        best = scores.scatter_(1, given, -math.inf).argmax(dim=1)
        free = (first[c][:, :, None] != given[:, None]).all(dim=2)
        neighbor = first[c].gather(1, free.int().argmax(dim=1)[:, None])
        found.append(torch.stack((
            best == rows[d], raw == rows[d],
            (raw[:, None] == given).any(dim=1), neighbor[:, 0] == rows[d])))
    return Answers(*torch.cat(found, dim=1))


# 15.7 Word similarity and analogy
def ivf_cells(W, cells, steps=8, seed=0):
    """Centroids (cells, d) and the cell (V,) of each row of W (V, d).

    Spherical k-means: directions are compared, and each centroid is the
    mean direction of its rows. It starts from rows drawn at random, and a
    centroid without rows stays where it is. Raises ValueError unless 1 <=
    cells <= V.
    """
    if not 1 <= cells <= len(W):
        raise ValueError(f"{cells} cells for {len(W)} vectors; choose from 1 "
                         "to as many as there are vectors.")
    generator = torch.Generator().manual_seed(seed)
    W = F.normalize(W, dim=1)
    centroids = W[torch.randperm(len(W), generator=generator)[:cells]
                  .to(W.device)]
    for _ in range(steps):
        owner = (W @ centroids.mT).argmax(dim=1)  # (V,)
        sums = torch.zeros_like(centroids).index_add(0, owner, W)
        centroids = torch.where((sums == 0).all(dim=1, keepdim=True),
                                centroids, F.normalize(sums, dim=1))
    return centroids, (W @ centroids.mT).argmax(dim=1)


# 15.7 Word similarity and analogy
def ivf_search(W, x, k, cells, probes):
    """Approximate `knn`: looks only into the cells nearest to a query.

    `cells` is what `ivf_cells` returned for W (V, d); for each of the
    queries x (n, d) the rows in the `probes` cells with the nearest
    centroids are compared. Returns cosines and indices (n, k), and how many
    rows were visited, (n,). If those are fewer than k, the rest has cosine
    -inf and index -1. Raises ValueError for other shapes, for k < 1, or
    unless 1 <= probes <= cells.
    """
    centroids, owner = cells
    if x.ndim != 2 or not 1 <= probes <= len(centroids) or k < 1 or (
            len(owner) != len(W)):
        raise ValueError(f"k is {k}, x {tuple(x.shape)} instead of (n, d), "
                         f"with {probes} probes of {len(centroids)} cells, "
                         f"and {len(owner)} of {len(W)} vectors have a cell.")
    near = knn(centroids, x, probes)[1]  # (n, probes)
    sizes = owner.bincount(minlength=len(centroids))
    lists = owner.argsort(stable=True).split(sizes.tolist())
    best = x.new_full((len(x), probes, k), -math.inf)
    ids = near.new_full((len(x), probes, k), -1)
    for cell, rows in enumerate(lists):  # one product for each list
        query, slot = (near == cell).nonzero(as_tuple=True)
        if len(query) and len(rows):
            found = cosines(W[rows], x[query]).topk(min(k, len(rows)))
            m = found.values.shape[1]
            best[query, slot, :m] = found.values
            ids[query, slot, :m] = rows[found.indices]
    values, order = best.flatten(1).topk(k)
    ids = ids.flatten(1).gather(1, order)
    return (values, ids.masked_fill(values == -math.inf, -1),
            sizes[near].sum(dim=1))


# 15.8 Bidirectional encoder representations from Transformers (BERT)
def tokens_and_segments(a, b=None):
    """One text, or a pair of texts, as BERT reads it (Devlin et al., 2019).

    Parameters
    ----------
    a, b : list of str
        Tokens; without `b` the input is a single text.

    Returns
    -------
    tokens : list of str
        "<cls>", a, "<sep>" and, with b, b, "<sep>".
    segments : list of int
        For each token 0 up to the first "<sep>", with it, and 1 afterwards.

    Raises
    ------
    TypeError
        For a string in place of a list of tokens.
    """
    for text in (a, b):
        if isinstance(text, str):
            raise TypeError(f"{text!r} is a string; split it into a list of "
                            "tokens first.")
    tokens, segments = ["<cls>", *a, "<sep>"], [0] * (len(a) + 2)
    if b is not None:
        tokens += [*b, "<sep>"]
        segments += [1] * (len(b) + 1)
    return tokens, segments


# 15.8 Bidirectional encoder representations from Transformers (BERT)
def init_bert(module):
    """Small random weights for a layer; give it to `Module.apply`.

    Weights of linear layers and tables get a standard deviation of 0.02,
    biases become 0, as in the published code of Devlin et al. (2019), which
    also cuts off the tails.
    """
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class BERTBlock(TransformerEncoderBlock):
    """A block of BERT: post-norm, with biases, and GELU in place of ReLU."""

    def __init__(self, num_hiddens, ffn_num_hiddens, num_heads, dropout):
        super().__init__(num_hiddens, ffn_num_hiddens, num_heads, dropout,
                         use_bias=True)
        self.ffn.net[1] = nn.GELU()
        for sublayer in self.sublayers:
            sublayer.ln.eps = 1e-12


# 15.8 Bidirectional encoder representations from Transformers (BERT)
class BERTEncoder(nn.Module):
    """The encoder of BERT (Devlin et al., 2019): a vector for each token.

    `num_blks` blocks of width `num_hiddens`, with `num_heads` heads and
    `ffn_num_hiddens` units inside, for at most `max_len` tokens out of
    `vocab_size`. Every weight begins as in `init_bert`.
    """

    def __init__(self, vocab_size, num_hiddens, ffn_num_hiddens, num_heads,
                 num_blks, dropout=0.1, max_len=512):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, num_hiddens)
        self.segment_embedding = nn.Embedding(2, num_hiddens)
        self.pos_embedding = nn.Embedding(max_len, num_hiddens)
        self.ln = nn.LayerNorm(num_hiddens, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.blks = nn.ModuleList(
            BERTBlock(num_hiddens, ffn_num_hiddens, num_heads, dropout)
            for _ in range(num_blks))
        self.apply(init_bert)

    def embed(self, tokens, segments=None):
        """Vectors (n, steps, num_hiddens) that the first block reads."""
        max_len = self.pos_embedding.num_embeddings
        if tokens.dim() != 2 or tokens.shape[1] > max_len:
            raise ValueError(
                f"tokens has the shape {tuple(tokens.shape)}; give (n, steps) "
                f"with at most max_len = {max_len} steps: cut the texts, or "
                "build the encoder with a larger max_len.")
        X = self.token_embedding(tokens)
        X = X + self.pos_embedding.weight[:tokens.shape[1]]
        segments = torch.zeros_like(tokens) if segments is None else segments
        return self.dropout(self.ln(X + self.segment_embedding(segments)))

    @property
    def attention_weights(self):
        """Of the last call, a tensor (n, heads, steps, steps) per block."""
        return [blk.attention.attention_weights for blk in self.blks]


# 15.8 Bidirectional encoder representations from Transformers (BERT)
@add_to_class(BERTEncoder)
def forward(self, tokens, segments=None, valid_lens=None):
    """(n, steps, num_hiddens), for ids `tokens` (n, steps).

    `segments` (n, steps) holds 0 and 1, by default 0. A token attends to
    the first `valid_lens` tokens of its text: (n,), one number for each
    text, or (n, steps), one for each token; by default to all.
    """
    X = self.embed(tokens, segments)
    for blk in self.blks:
        X = blk(X, valid_lens)
    return X


# 15.8 Bidirectional encoder representations from Transformers (BERT)
class MaskLM(nn.Module):
    """Scores of the vocabulary at chosen positions.

    `tied` is the `nn.Embedding` (vocab_size, num_hiddens) whose weight the
    last layer shares, as it is; without it the weight is its own, and small.
    """

    def __init__(self, vocab_size, num_hiddens, tied=None):
        super().__init__()
        self.transform = nn.Sequential(
            nn.Linear(num_hiddens, num_hiddens), nn.GELU(),
            nn.LayerNorm(num_hiddens, eps=1e-12))
        self.decoder = nn.Linear(num_hiddens, vocab_size)
        self.apply(init_bert)  # first, for it must not touch the table
        if tied is not None:
            if tied.weight.shape != self.decoder.weight.shape:
                raise ValueError(
                    f"tied has a weight {tuple(tied.weight.shape)}; it must "
                    f"be {(vocab_size, num_hiddens)}, (vocab_size, "
                    "num_hiddens).")
            self.decoder.weight = tied.weight

    def forward(self, X, pred_positions):
        """(n, k, vocab_size), for X (n, steps, d) and positions (n, k)."""
        if pred_positions.dim() != 2 or len(pred_positions) != len(X):
            raise ValueError(
                f"pred_positions has the shape {tuple(pred_positions.shape)} "
                f"for {len(X)} texts; give {len(X)} rows of positions.")
        chosen = torch.take_along_dim(X, pred_positions[:, :, None], dim=1)
        return self.decoder(self.transform(chosen))  # chosen is (n, k, d)


# 15.8 Bidirectional encoder representations from Transformers (BERT)
class NextSentencePred(nn.Module):
    """Two scores for a pair of texts, from the pooled vector of "<cls>".

    Column 1 stands for "b follows a", column 0 for "b is from elsewhere";
    in the published heads it is the other way round.
    """

    def __init__(self, num_hiddens):
        super().__init__()
        self.output = nn.Linear(num_hiddens, 2)
        self.apply(init_bert)

    def forward(self, pooled):
        """(n, 2), for vectors (n, num_hiddens), one for each pair."""
        if pooled.dim() != 2:
            raise ValueError(
                f"pooled has the shape {tuple(pooled.shape)}; give one vector "
                "for each pair, (n, num_hiddens), that of <cls>.")
        return self.output(pooled)


# 15.8 Bidirectional encoder representations from Transformers (BERT)
class BERTModel(nn.Module):
    """Encoder, pooler and both heads of BERT; see `BERTEncoder`.

    The decoder of the masked language model is tied to the token table.
    """

    def __init__(self, vocab_size, num_hiddens, ffn_num_hiddens, num_heads,
                 num_blks, dropout=0.1, max_len=512):
        super().__init__()
        self.encoder = BERTEncoder(vocab_size, num_hiddens, ffn_num_hiddens,
                                   num_heads, num_blks, dropout, max_len)
        self.pooler = nn.Sequential(nn.Linear(num_hiddens, num_hiddens),
                                    nn.Tanh()).apply(init_bert)
        self.mlm = MaskLM(vocab_size, num_hiddens,
                          self.encoder.token_embedding)
        self.nsp = NextSentencePred(num_hiddens)

    def forward(self, tokens, segments=None, valid_lens=None,
                pred_positions=None):
        """Vectors, scores of words, scores of "b follows a".

        They are (n, steps, num_hiddens), (n, k, vocab_size) and (n, 2), for
        `tokens` and `segments` (n, steps), `valid_lens` (n,) and
        `pred_positions` (n, k). Without positions the second is None.
        """
        X = self.encoder(tokens, segments, valid_lens)
        words = (None if pred_positions is None
                 else self.mlm(X, pred_positions))
        return X, words, self.nsp(self.pooler(X[:, 0]))  # position of <cls>


# 15.8 Bidirectional encoder representations from Transformers (BERT)
def bert_param_count(V, H, L, F, max_len=512, pooler=True):
    """Number of parameters of BERT's encoder, without the two heads.

    V tokens, L blocks of width H with F units inside, `max_len` positions;
    `pooler` adds the layer on the vector of "<cls>".
    """
    sizes = {"V": V, "H": H, "L": L, "F": F, "max_len": max_len}
    for name, size in sizes.items():
        if size < 0:
            raise ValueError(f"{name} is {size}; a size cannot be negative.")
    tables = (V + max_len + 2) * H + 2 * H  # and their layer norm
    block = 4 * (H * H + H) + (2 * H * F + F + H) + 4 * H
    return tables + L * block + pooler * (H * H + H)


# 15.8 Bidirectional encoder representations from Transformers (BERT)
def read_sts(path):
    """Rows (text, text, judgement from 0 to 5) of a CSV file of STS-B.

    Raises ValueError for a row of another form.
    """
    with open(path, encoding="utf-8", newline="") as file:
        return [(a, b, float(score)) for a, b, score in csv.reader(file)]


# 15.8 Bidirectional encoder representations from Transformers (BERT)
class ModernBlock(nn.Module):
    """A block in the manner of ModernBERT (Warner et al., 2024).

    Norms before the parts, no biases, rotary positions, a gated network with
    `ffn` units (GeGLU). `d` is the width, a multiple of 2 * `heads`. With
    `window` a token sees only those up to window // 2 places away.
    """

    def __init__(self, d, heads, ffn, window=None, base=10000.0):
        super().__init__()
        if d % (2 * heads) or window is not None and window < 0:
            raise ValueError(
                f"d is {d}, heads {heads}, window {window}; d must be a "
                "multiple of 2 * heads, and window None or at least 0.")
        self.heads, self.window, self.base = heads, window, base
        self.norm_1, self.norm_2 = (
            nn.LayerNorm(d, bias=False) for _ in range(2))
        self.W_qkv = nn.Linear(d, 3 * d, bias=False)
        self.W_o = nn.Linear(d, d, bias=False)
        self.W_in = nn.Linear(d, 2 * ffn, bias=False)
        self.W_out = nn.Linear(ffn, d, bias=False)

    def visible(self, steps, valid_lens, device):
        """Which keys a query sees: booleans (n or 1, 1, steps, steps)."""
        at = torch.arange(steps, device=device)
        far = (at[:, None] - at).abs()  # (steps, steps)
        seen = (far <= (steps if self.window is None else self.window // 2)
                )[None, None]
        if valid_lens is not None:  # padding sees itself, which harms nobody
            real = at < valid_lens.reshape(-1, 1, 1, 1)
            seen = seen & (real | (far == 0))
        return seen


# 15.8 Bidirectional encoder representations from Transformers (BERT)
@add_to_class(ModernBlock)
def forward(self, X, valid_lens=None, start=0):
    """(n, steps, d), as X, whose first token stands at position `start`.

    Keys from `valid_lens` (n,) on are padding; by default none is.
    """
    steps = X.shape[1]
    q, k, v = self.W_qkv(self.norm_1(X)).unflatten(
        2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
    at = torch.arange(start, start + steps, device=X.device)
    q, k = (apply_rope(part, at, self.base) for part in (q, k))
    Y = F.scaled_dot_product_attention(  # (n, heads, steps, d / heads)
        q, k, v, attn_mask=self.visible(steps, valid_lens, X.device))
    X = X + self.W_o(Y.transpose(1, 2).flatten(2))
    Y, gate = self.W_in(self.norm_2(X)).chunk(2, dim=-1)
    return X + self.W_out(F.gelu(Y) * gate)


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.9 The dataset for pretraining BERT
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


# 15.10 Pretraining BERT
def bert_batch_loss(net, batch):
    """The two losses of BERT on a batch of `BERTData`, in nats.

    Returns (mlm, nsp), scalars: mean cross-entropies over the predictions
    whose label is not -100, and over the pairs whose label is not -100; nsp
    is 0 if there are none. The batch lies on the device of `net`. Source:
    Devlin et al. (2018), arXiv:1810.04805.
    """
    tokens, segments, valid_lens, positions, _, labels, nsp_labels = batch
    _, words, pairs = net(tokens, segments, valid_lens, positions)
    mlm = F.cross_entropy(words.flatten(0, 1), labels.flatten())
    asked = nsp_labels != -100  # a mean over nothing would be no number
    nsp = F.cross_entropy(pairs, nsp_labels, reduction="sum")
    return mlm, nsp / asked.sum().clamp(min=1)


# 15.10 Pretraining BERT
def length_batches(data, pool=16):
    """One epoch of batches of equally long texts, masked anew.

    `data` is a dynamic `BERTData`. Of each `pool` batches' worth of
    shuffled examples, those of similar length form a batch, whose tensors
    are as wide as its longest text. Raises ValueError for static masks.
    """
    if not data.dynamic:
        raise ValueError("data has static masks; build it with dynamic=True.")
    lens, rng = data.train[2], data.generator
    chunks = torch.randperm(len(lens), generator=rng).split(
        pool * data.batch_size)
    batches = torch.cat([rows[lens[rows].argsort(stable=True)]
                         for rows in chunks]).split(data.batch_size)
    for i in torch.randperm(len(batches), generator=rng).tolist():
        tokens, segments, valid, nsp = (
            part[batches[i]] for part in data.train)
        width = int(valid.max())
        yield data.mask(tokens[:, :width], segments[:, :width], valid, nsp)


# 15.10 Pretraining BERT
def evaluate_bert(net, batch, rows=256):
    """Losses and accuracies on a batch of `BERTData`, in evaluation mode.

    Returns a float64 tensor (mlm, nsp, accuracy of mlm, accuracy of nsp);
    the losses are those of `bert_batch_loss`, taken in parts of `rows`
    texts sorted by length. What concerns pairs is nan if there are none.
    """
    device = next(net.parameters()).device
    sums, counts = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2)
    with evaluating(net):
        for part in batch[2].argsort(stable=True).split(rows):
            tokens, segments, valid, positions, _, *labels = (
                each[part] for each in batch)
            width = int(valid.max())
            moved = [each.to(device) for each in (
                tokens[:, :width], segments[:, :width], valid, positions)]
            _, words, pairs = net(*moved)
            for i, (scores, y) in enumerate(zip((words, pairs), labels)):
                asked = y != -100
                scores, y = scores.cpu()[asked].double(), y[asked]
                counts[i] += len(y)
                sums[0, i] += F.cross_entropy(scores, y, reduction="sum")
                sums[1, i] += (scores.argmax(dim=1) == y).sum()
    return (sums / counts).flatten()


# 15.10 Pretraining BERT
def train_bert(net, data, steps, lr, warmup=0.12, every=100, stop=None,
               nsp_weight=1.0, pool=16):
    """Train a `BERTModel` on `BERTData`, in place.

    AdamW with a rate that rises to `lr` over a share `warmup` of `steps`
    and falls linearly to 0; gradients are clipped to the norm 1. `stop`
    ends after so many steps of that plan. Returns a float64 tensor (k, 5):
    step and `evaluate_bert` on the validation part, at the start, after
    each `every` steps and at the end. Raises ValueError unless
    0 < warmup < 1 and there is a step.
    """
    if steps < 1 or not 0 < warmup < 1:
        raise ValueError(f"steps is {steps}, warmup {warmup}; train for a "
                         "step at least, with a share in (0, 1) of warmup.")
    device, last = next(net.parameters()).device, stop or steps
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr,
                                  betas=(0.9, 0.98), weight_decay=0.01,
                                  fused=device.type in ("cpu", "cuda"))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(
        1, (t + 1) / (warmup * steps), (steps - t) / ((1 - warmup) * steps)))
    batches, curve = iter(()), []
    for step in range(last + 1):
        if step % every == 0 or step == last:
            curve.append([step, *evaluate_bert(net, data.val).tolist()])
        if step == last:
            return torch.tensor(curve, dtype=torch.float64)
        if (batch := next(batches, None)) is None:
            batches = length_batches(data, pool)
            batch = next(batches)
        mlm, nsp = bert_batch_loss(net, d2l.to_device(batch, device))
        optimizer.zero_grad()
        (mlm + nsp_weight * nsp).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()


# 15.10 Pretraining BERT
@functools.cache
def toy_pairs(num_train=6000, num_val=500, seed=0):
    """A `BERTText` of `ToyWorld` scenes: paragraphs of two halves.

    Each half, two sentences with their full stops, counts as one sentence
    of the paragraph, so both texts of a pair have two sentences. The same
    arguments give the same object, which is not to be changed.
    """
    world = ToyWorld(seed)

    def scenes(n):
        told = (world.paragraph(4) for _ in range(n))
        return [[a + b, c + d] for a, b, c, d in told]

    return word_text(scenes(num_train), scenes(num_val),
                     words=ToyWorld.words)


# 15.10 Pretraining BERT
def small_bert(vocab_size, num_hiddens, num_heads, max_len,
               token_std=0.02, seed=0):
    """A `BERTModel` of 2 blocks, without dropout.

    The weights of its linear layers have the standard deviation
    1 / sqrt(inputs), those of its token table `token_std`, the other tables
    0.02. The seed alone decides about them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = BERTModel(vocab_size, num_hiddens, 2 * num_hiddens,
                        num_heads, 2, 0.0, max_len)
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Linear) and name != "mlm.decoder":
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.normal_(net.encoder.token_embedding.weight, std=token_std)
    return net


# 15.10 Pretraining BERT
def unigram_entropy(ids):
    """Entropy in nats of the shares of the ids, an int64 tensor (n,)."""
    if len(ids) == 0:
        raise ValueError("ids is empty; a share needs a token.")
    p = torch.bincount(ids).double()
    p = p[p > 0] / len(ids)
    return -(p * p.log()).sum().item()


# 15.10 Pretraining BERT
class NeighbourCounts:
    """Masked words from counts: the unigram, and both neighbours.

    `data` is a `BERTData`, whose training part is counted, and `kappa` the
    weight of the unigram in (15.10.2). Everything lies on the CPU.
    """

    def __init__(self, data, kappa=5.0):
        tokens, _, valid, _ = data.train
        self.kappa, size = kappa, len(data.vocab)
        inside = torch.arange(tokens.shape[1]) < valid[:, None]
        ordinary = data.vocab.is_ordinary[tokens] & inside
        counts = torch.bincount(tokens[ordinary], minlength=size).double()
        smooth = (counts + 0.1) * data.vocab.is_ordinary
        self.unigram = smooth / smooth.sum()  # (size,)
        both = inside[:, 1:]
        pairs = tokens[:, :-1][both] * size + tokens[:, 1:][both]
        pairs, times = pairs.unique(return_counts=True)
        counts = sparse.csr_matrix(
            (times.double().numpy(), (pairs // size, pairs % size)),
            shape=(size, size))
        self.after, self.before = counts, counts.T.tocsr()

    def rows(self, counts, words):
        """P(w | neighbour) for neighbours `words` (n,), as (n, size)."""
        seen = torch.from_numpy(counts[words.numpy()].toarray())
        return (seen + self.kappa * self.unigram) / (
            seen.sum(dim=1, keepdim=True) + self.kappa)

    def log_probs(self, tokens, rows, positions):
        """Log-probabilities (n, size) for tokens[rows, positions]."""
        left, right = (tokens[rows, positions + i] for i in (-1, 1))
        p = self.rows(self.after, left) * self.rows(self.before, right)
        p = p / self.unigram.clamp(min=1e-12) * (self.unigram > 0)
        return (p / p.sum(dim=1, keepdim=True)).log()


# 15.10 Pretraining BERT
class Pretrained(NamedTuple):
    """A trained `BERTModel` in evaluation mode, its vocabulary, its curve.

    `vocab` is a `BERTVocab`, `curve` what `train_bert` returned.
    """

    net: BERTModel
    vocab: BERTVocab
    curve: torch.Tensor


def pretrain(name, net, data, **recipe):
    """`train_bert(net, data, **recipe)`, trained once and then kept.

    Returns a `Pretrained` with `net`, whose weights come from a file in the
    cache of the data sets if the same first weights, data and numbers were
    trained by the same code before.
    """
    def compute():
        curve = train_bert(net, data, **recipe)
        return {**net.state_dict(), " curve": curve}

    code = [train_bert, evaluate_bert, bert_batch_loss, length_batches,
            mask_positions, BERTData]
    tensors = kept(name, [
        net, list(data.train), list(data.val), data.vocab.tokens,
        data.batch_size, data.rate, data.seed, recipe, code], compute)
    curve = tensors.pop(" curve")
    net.load_state_dict(tensors)
    return Pretrained(net.eval(), data.vocab, curve)


# 15.10 Pretraining BERT
def toy_bert(seed=0, steps=750, token_std=0.2, stop=None, nsp_weight=1.0,
             rate=0.2):
    """The encoder of `ToyWorld`: 64 wide, at most 64 tokens, 44 types.

    Trained on both tasks with `steps` batches of 32 `toy_pairs` and kept;
    the first 750 steps take about 16 seconds of one core. `stop`,
    `nsp_weight` as in `train_bert`; `rate` is the share of masks in
    training, 0.2 in the validation part. Returns a `Pretrained`.
    """
    text = toy_pairs()
    data = BERTData(32, 36, text, rate=rate, seed=seed)
    if rate != 0.2:
        data.val = BERTData(32, 36, text, rate=0.2, seed=seed).val
    net = small_bert(len(text.vocab), 64, 4, 64, token_std, seed)
    return pretrain("toy-bert", net.to(d2l.try_device(quiet=True)), data,
                    steps=steps, lr=4e-3, every=50, stop=stop,
                    nsp_weight=nsp_weight, pool=1)


# 15.10 Pretraining BERT
def fill_mask(net, vocab, a, b=None):
    """Distributions over the vocabulary at each "<mask>" of a text.

    `a` and `b` are lists of words or strings with blanks, `vocab` is a
    `BERTVocab`. Returns a tensor (number of masks, len(vocab)) of
    probabilities, in the order of the masks; `net` is evaluated in
    evaluation mode. Raises ValueError if there is no mask.
    """
    tokens, segments, valid = as_input(vocab, a, b)
    where = (tokens[0] == vocab.mask).nonzero().T  # (1, masks)
    if where.numel() == 0:
        raise ValueError(f"{a!r} has no '<mask>'; put one for each gap.")
    device = next(net.parameters()).device
    with evaluating(net):
        words = net(*(part.to(device) for part in (
            tokens, segments, valid, where)))[1]
    return words[0].softmax(dim=1)


def as_input(vocab, a, b=None):
    """Tokens, segments (1, n) and valid length (1,) of one or two texts."""
    a, b = vocab.encode(a), None if b is None else vocab.encode(b)
    length = len(a) + (2 if b is None else len(b) + 3)
    return pad_bert([(a, b, 0)], length, vocab)[:3]


# 15.10 Pretraining BERT
def premise_split(premises, seed=0):
    """Split pairs of sentences so that no premise is in both parts.

    Parameters
    ----------
    premises : sequence of str
        The first sentence of each pair; blanks at its ends, and how many
        stand between words, make no difference.
    seed : int
        Which sixth of the distinct premises, sorted and then permuted by
        NumPy's generator, is held out.

    Returns
    -------
    tuple of two lists of int
        Indices of the pairs for training and of those held out, both
        rising; about 5/6 and 1/6 of the pairs.

    Raises
    ------
    ValueError
        For fewer than six distinct premises.
    """
    names = [" ".join(premise.split()) for premise in premises]
    distinct = sorted(set(names))
    if len(distinct) < 6:
        raise ValueError(f"{len(distinct)} distinct premises; a sixth of "
                         "them is held out, so give at least 6.")
    order = np.random.default_rng(seed).permutation(len(distinct))
    held = {distinct[i] for i in order[:len(distinct) // 6]}
    return ([i for i, name in enumerate(names) if name not in held],
            [i for i, name in enumerate(names) if name in held])


# 15.10 Pretraining BERT
def caption_text(found, min_freq=3):
    """The captions of `fetch("snli-dev-test")` as a `BERTText`.

    Each distinct sentence, in lower case, is a paragraph of one sentence;
    premises and hypotheses of both official parts count alike, and
    `premise_split` decides which are held out (those that also occur in
    the training part are not). Words with fewer than `min_freq`
    occurrences in the training part are unknown.
    """
    rows = [tuple(zip(*(
        found.files[f"{name}.{part}"].read_text(encoding="utf-8").splitlines()
        for name in ("s1", "s2")), strict=True)) for part in ("dev", "test")]
    rows = [pair for part in rows for pair in part]
    train, held = ({tuple(sentence.lower().split()) for i in part
                    for sentence in rows[i]} - {()}
                   for part in premise_split([a for a, _ in rows]))
    return word_text([[list(s)] for s in sorted(train)],
                     [[list(s)] for s in sorted(held - train)], min_freq)


# 15.10 Pretraining BERT
def caption_bert(seed=0, steps=240):
    """The encoder of captions: 128 wide, at most 32 tokens.

    Trained on masked words alone, so its pooler and its head for pairs are
    as they began, with `steps` batches of 64 captions of at most 24
    tokens, and kept; 240 steps take about 15 seconds of one core. Returns
    a `Pretrained`, whose vocabulary is that of `caption_text`.
    """
    text = caption_text(d2l.fetch("snli-dev-test"))
    data = BERTData(64, 24, text._replace(val=text.val[::2]), nsp=False,
                    seed=seed)
    net = small_bert(len(text.vocab), 128, 4, 32, seed=seed)
    return pretrain("caption-bert", net.to(d2l.try_device(quiet=True)), data,
                    steps=steps, lr=2e-3, every=120)


# 15.10 Pretraining BERT
def encode_bert(net, vocab, a, b=None):
    """Contextual vectors (tokens, num_hiddens) of one or two texts.

    `a` and `b` are lists of words or strings with blanks. Row 0 belongs to
    "<cls>", the words of `a` follow, then "<sep>", and the same for b. The
    network is evaluated in evaluation mode, without gradients; the modes
    of its modules come back afterwards.
    """
    device = next(net.parameters()).device
    with evaluating(net):
        return net.encoder(*(part.to(device)
                             for part in as_input(vocab, a, b)))[0]


def context_similarity(net, vocab, word, sentences):
    """Cosines (n, n) between the vectors of a word in n sentences.

    The first occurrence in each sentence counts. Raises ValueError for a
    sentence without the word.
    """
    rows = []
    for sentence in sentences:
        words = sentence.split() if isinstance(sentence, str) else sentence
        if word not in words:
            raise ValueError(f"{sentence!r} lacks {word!r}; leave it out.")
        rows.append(encode_bert(net, vocab, words)[words.index(word) + 1])
    rows = F.normalize(torch.stack(rows), dim=1)
    return rows @ rows.T
