"""Chapter 15, Natural language processing: pretraining: what its sections teach and later ones use.

Generated from book/15-nlp-pretraining/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import math
import numpy as np
import re
import torch
import unicodedata
from collections import Counter
from collections import defaultdict
from d2l_helpers.chapters.attention_and_transformers import apply_merges
from d2l_helpers.chapters.attention_and_transformers import merge
from d2l_helpers.chapters.linear_regression import add_to_class
from torch import nn
from torch.nn import functional as F


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
