"""Chapter 15, Natural language processing: pretraining: what its sections teach and later ones use.

Generated from book/15-nlp-pretraining/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import heapq
import math
import numpy as np
import re
import torch
import unicodedata
from collections import Counter
from collections import defaultdict
from d2l_helpers.chapters.attention_and_transformers import apply_merges
from d2l_helpers.chapters.attention_and_transformers import merge
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.optimization import train_scheduled
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import word_sentences
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
