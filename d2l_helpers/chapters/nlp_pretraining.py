"""Chapter 15, Natural language processing: pretraining: what its sections teach and later ones use.

Generated from book/15-nlp-pretraining/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import heapq
import math
import torch
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import word_sentences
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
