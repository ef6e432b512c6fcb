"""Chapter 15, Natural language processing: pretraining: what its sections teach and later ones use.

Generated from book/15-nlp-pretraining/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import torch
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import word_sentences
from typing import NamedTuple


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
