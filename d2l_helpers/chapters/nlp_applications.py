"""Chapter 16, Natural language processing: applications: what its sections teach and later ones use.

Generated from book/16-nlp-applications/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import copy
import d2l_helpers as d2l
import json
import math
import numpy as np
import torch
import zipfile
from collections import Counter
from d2l_helpers.chapters.attention_and_transformers import masked_softmax
from d2l_helpers.chapters.computer_vision import evaluating
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.linear_classification import predict
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.nlp_pretraining import BERTModel
from d2l_helpers.chapters.nlp_pretraining import BERTVocab
from d2l_helpers.chapters.nlp_pretraining import FreshBatches
from d2l_helpers.chapters.nlp_pretraining import TokenEmbedding
from d2l_helpers.chapters.nlp_pretraining import pad_bert
from d2l_helpers.chapters.nlp_pretraining import premise_split
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.pretrained import cached_features
from d2l_helpers.pretrained import kept
from d2l_helpers.pretrained import minilm
from d2l_helpers.texts import Scene
from d2l_helpers.texts import ToyWorld
from functools import partial
from pathlib import Path
from safetensors.torch import load_file
from safetensors.torch import save_file
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from typing import NamedTuple


# 16.1 Sentiment analysis and the dataset
def read_sentences(root):
    """Film sentences of Pang and Lee (2005): texts, and their labels.

    `root` is the folder of `fetch("sentence-polarity")`. Labels are 1 for
    positive and 0 for negative; the negative ones come first.
    """
    texts, labels = [], []
    for label, ending in enumerate(("neg", "pos")):
        lines = (root / f"rt-polarity.{ending}").read_text(encoding="utf-8")
        found = [line.strip() for line in lines.split("\n") if line.strip()]
        texts += found
        labels += [label] * len(found)
    return texts, labels


def read_imdb(root, split):
    """Whole reviews, a file for each: texts, and labels, 1 for positive.

    Reads `root/split/neg/*.txt` and `.../pos/*.txt` in the order of their
    names: the form of IMDb's `aclImdb/train` and `test`, and of the folder
    "movie_reviews" of `fetch("movie-reviews")`. Texts are returned as they
    stand. Raises FileNotFoundError if a folder holds no text.
    """
    texts, labels = [], []
    for label, ending in enumerate(("neg", "pos")):
        folder = root / split / ending
        found = [path.read_text(encoding="utf-8")
                 for path in sorted(folder.glob("*.txt"))]
        if not found:
            raise FileNotFoundError(f"There is no .txt file in {folder}; give "
                                    "the folder that holds the split.")
        texts += found
        labels += [label] * len(found)
    return texts, labels


# 16.1 Sentiment analysis and the dataset
def length_buckets(lengths, batch_size, generator=None):
    """Batches of indices of texts with similar lengths, in random order.

    `lengths` is an int tensor (n,). Returns a list of int tensors, which
    together hold 0 to n - 1 once each; one of them may be smaller than
    `batch_size`. Texts of equal length are dealt out at random. Raises
    ValueError if `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    ties = torch.rand(len(lengths), generator=generator, dtype=torch.float64)
    batches = (lengths + ties).argsort().split(batch_size)
    order = torch.randperm(len(batches), generator=generator)
    return [batches[i] for i in order]


def pad_texts(pairs, pad):
    """Rows of different lengths as a batch ((ids, lengths), labels).

    `pairs` holds (row, label): an int tensor of any length, a number.
    `ids` (b, longest) ends in `pad` where a row is shorter; `lengths` (b,).
    """
    rows, labels = zip(*pairs)
    lengths = torch.tensor([len(row) for row in rows])
    ids = pad_sequence(rows, batch_first=True, padding_value=pad)
    return (ids, lengths), torch.tensor(labels)


# 16.1 Sentiment analysis and the dataset
class TextClassificationData(DataModule):
    """Texts with labels; batches ((ids, lengths), labels).

    `train` and `test` are pairs of a list of texts, whose tokens stand
    between blanks, and a list of int labels. Texts are cut after `num_steps`
    tokens; tokens rarer than `min_freq` in training are left out of `vocab`,
    which holds "<pad>". With `bucketing`, training batches hold texts of
    similar length; otherwise their order is random. `seed` fixes the order,
    a new one in each epoch; test batches are in order. `rows` and `labels`
    have the parts "train" and "test". Raises ValueError if a text is empty,
    texts and labels differ in number, or `num_steps` is below 1.
    """

    def __init__(self, train, test, batch_size=64, num_steps=500,
                 bucketing=False, min_freq=1, seed=0):
        super().__init__()
        self.save_hyperparameters(ignore=["train", "test"])
        self.generator = torch.Generator().manual_seed(seed)
        if num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}; keep at least 1.")
        self.rows, self.labels = {}, {}
        for part, (texts, labels) in (("train", train), ("test", test)):
            if len(texts) != len(labels) or not all(t.split() for t in texts):
                raise ValueError(
                    f"{part}: {len(texts)} texts and {len(labels)} labels; "
                    "each text needs a label and at least one token.")
            tokens = [text.split()[:num_steps] for text in texts]
            if part == "train":
                self.vocab = Vocab(tokens, min_freq, ["<pad>"])
            self.rows[part] = [torch.tensor(self.vocab[row])
                               for row in tokens]
            self.labels[part] = list(labels)


# 16.1 Sentiment analysis and the dataset
@add_to_class(TextClassificationData)
def get_dataloader(self, train):
    part = "train" if train else "test"
    pairs = list(zip(self.rows[part], self.labels[part]))
    make = partial(DataLoader, pairs,
                   collate_fn=partial(pad_texts, pad=self.vocab["<pad>"]))
    if train and self.bucketing:
        sizes = torch.tensor([len(row) for row in self.rows[part]])
        return FreshBatches(lambda: make(batch_sampler=length_buckets(
            sizes, self.batch_size, self.generator)))
    return make(batch_size=self.batch_size, shuffle=train,
                generator=self.generator)


# 16.1 Sentiment analysis and the dataset
def split_texts(texts, labels, num_test, seed=0):
    """A random split: (texts, labels) for training and for tests.

    The `num_test` test texts are the first of a random order that `seed`
    fixes, the others are for training. Raises ValueError if a part would
    be empty.
    """
    if not 0 < num_test < len(texts):
        raise ValueError(f"num_test is {num_test}, of {len(texts)} texts; "
                         "both parts need at least one.")
    order = torch.randperm(
        len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    test, train = order[:num_test], order[num_test:]
    return [([texts[i] for i in part], [labels[i] for i in part])
            for part in (train, test)]


# 16.1 Sentiment analysis and the dataset
def lexicon_score(text, good, bad):
    """Number of tokens of `text` in the set `good` minus those in `bad`."""
    tokens = text.split()
    return sum(t in good for t in tokens) - sum(t in bad for t in tokens)


def bow_features(train, test, ngrams=1, tfidf=False):
    """Counts of words, or of up to `ngrams` in a row, as sparse matrices.

    `train` and `test` are lists of texts whose tokens stand between
    blanks, and are put in lower case; the columns are the n-grams of the
    training texts, in alphabetical order. With `tfidf`, counts are weighted
    by rarity and each row has length 1. Returns both matrices and the names
    of the columns.
    """
    kind = TfidfVectorizer if tfidf else CountVectorizer
    counter = kind(token_pattern=r"\S+", ngram_range=(1, ngrams))
    return (counter.fit_transform(train), counter.transform(test),
            counter.get_feature_names_out())


# 16.1 Sentiment analysis and the dataset
class ToyReviews:
    """Made-up reviews: counts of single words do not depend on the label.

    `ToyReviews(n, seed)` holds `texts`, n strings of 5 to 50 tokens, and
    `labels`, 1 for positive, drawn by a coin. All opinions of a review have
    its label, or, in half of the reviews, those before ", but overall" have
    random ones. An opinion is an adjective, or "not" and its opposite, with
    an intensifier in nine of ten cases. The same seed, the same texts.
    Raises ValueError if `n` is below 1.
    """

    aspects = """acting camera cast dialogue ending music pace plot script
        story""".split()
    opposites = {good: bad for good, bad in (pair.split("-") for pair in """
        clever-silly fresh-stale funny-boring good-bad great-awful lively-dull
        moving-cold rich-poor sharp-tired warm-clumsy""".split())}
    intensifiers = "quite rather really truly very".split()
    filler = [line.split() for line in (
        "we saw it on a friday .", "the film runs for two hours .",
        "my friends came along .", "it opens with a long train ride .",
        "the theatre had forty seats .", "they shot most of this abroad .")]

    def __init__(self, n, seed=0):
        if n < 1:
            raise ValueError(f"n is {n}; ask for at least 1 review.")
        self.rng = np.random.default_rng(seed)
        pairs = [self._review() for _ in range(n)]
        self.texts = [" ".join(tokens) for tokens, _ in pairs]
        self.labels = [label for _, label in pairs]


# 16.1 Sentiment analysis and the dataset
@add_to_class(ToyReviews)
def _one(self, words):
    return words[int(self.rng.integers(len(words)))]


@add_to_class(ToyReviews)
def _coin(self, p=0.5):
    return bool(self.rng.random() < p)


@add_to_class(ToyReviews)
def _opinion(self, positive):
    good = self._one([*self.opposites])
    negated = self._coin()
    how = [self._one(self.intensifiers)] if self._coin(0.9) else []
    word = good if positive != negated else self.opposites[good]
    return [*(["not"] if negated else []), *how, word]


@add_to_class(ToyReviews)
def _review(self):
    label, turns, parts = self._coin(), self._coin(), []
    for _ in range(1 + int(self.rng.integers(4))):
        positive = self._coin() if turns else label
        parts.append(["the", self._one(self.aspects), "was",
                      *self._opinion(positive), "."])
    for _ in range(int(self.rng.integers(3))):
        parts.insert(int(self.rng.integers(len(parts) + 1)),
                     self._one(self.filler))
    tokens = [token for part in parts for token in part]
    if turns:
        tokens[-1:] = [",", "but", "overall", *self._opinion(label), "."]
    return tokens, int(label)


# 16.2 Sentiment analysis: recurrent networks
def pack(X, lengths):
    """Texts X (b, T, d) without their padding, a `PackedSequence`.

    `lengths` (b,) are the numbers of real steps, 1 to T, on any device;
    their order does not matter. Raises ValueError for other lengths.
    """
    lengths = lengths.cpu()  # where PyTorch wants them
    if len(lengths) != len(X) or not (
            1 <= int(lengths.min()) <= int(lengths.max()) <= X.shape[1]):
        raise ValueError(f"lengths {lengths.tolist()} for a batch "
                         f"{tuple(X.shape)}; each text needs one, from 1 to "
                         f"{X.shape[1]}.")
    return nn.utils.rnn.pack_padded_sequence(
        X, lengths, batch_first=True, enforce_sorted=False)


def unpack(packed, num_steps, value=0.0):
    """The tensor (b, num_steps, d) of what `pack` made; `value` beyond.

    Raises ValueError if a text has more than `num_steps` steps.
    """
    return nn.utils.rnn.pad_packed_sequence(
        packed, batch_first=True, padding_value=value,
        total_length=num_steps)[0]


# 16.2 Sentiment analysis: recurrent networks
class BiRNN(Classifier):
    """Two scores for texts (ids, lengths), by a bidirectional LSTM.

    `ids` (b, T) are token indices, `lengths` (b,) the numbers of real ones.
    `num_hiddens` h counts for each direction. `pooling` makes the encoding:
    "final", the last state of each direction in the last layer (b, 2h);
    "ends", the outputs of first and last step side by side (b, 4h); "mean"
    or "max", over the outputs of all steps (b, 2h). With `packed`, only real
    steps are read and pooled, otherwise padding counts as text. `dropout`
    acts between layers, so not if there is one. Raises ValueError for
    another pooling.
    """

    poolings = ("final", "ends", "mean", "max")

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers=1,
                 pooling="final", packed=True, dropout=0.0, lr=0.01):
        super().__init__()
        if pooling not in self.poolings:
            raise ValueError(f"pooling is {pooling!r}; choose one of "
                             f"{', '.join(self.poolings)}.")
        self.save_hyperparameters()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = nn.LSTM(embed_size, num_hiddens, num_layers,
                           batch_first=True, bidirectional=True,
                           dropout=dropout if num_layers > 1 else 0.0)
        sides = 4 if pooling == "ends" else 2
        self.output_layer = nn.Linear(sides * num_hiddens, 2)

    def configure_optimizers(self):
        return torch.optim.Adam(
            [p for p in self.parameters() if p.requires_grad], self.lr)


# 16.2 Sentiment analysis: recurrent networks
@add_to_class(BiRNN)
def states(self, embs, lengths):
    """Outputs (b, T, 2h) and last states (2L, b, h) of vectors (b, T, d).

    There are L layers. When packed, outputs beyond `lengths` are 0.
    """
    if not self.packed:
        outputs, (H, _) = self.rnn(embs)
        return outputs, H
    outputs, (H, _) = self.rnn(pack(embs, lengths))
    return unpack(outputs, embs.shape[1]), H


@add_to_class(BiRNN)
def encode(self, embs, lengths):
    """One vector (b, 2h or 4h) for each text of vectors embs (b, T, d)."""
    outputs, H = self.states(embs, lengths)
    if self.pooling == "final":
        return torch.cat((H[-2], H[-1]), dim=1)
    b, T = embs.shape[:2]
    if not self.packed:
        lengths = torch.full_like(lengths, T)
    if self.pooling == "ends":
        last = outputs[torch.arange(b, device=embs.device), lengths - 1]
        return torch.cat((outputs[:, 0], last), dim=1)
    steps = torch.arange(T, device=embs.device)
    outside = (steps >= lengths[:, None])[:, :, None]  # (b, T, 1)
    if self.pooling == "mean":
        return outputs.masked_fill(outside, 0).sum(1) / lengths[:, None]
    return outputs.masked_fill(outside, -torch.inf).amax(1)


@add_to_class(BiRNN)
def forward(self, X):
    """Scores (b, 2) of X = (ids (b, T), lengths (b,))."""
    ids, lengths = X
    return self.output_layer(self.encode(self.embedding(ids), lengths))


# 16.2 Sentiment analysis: recurrent networks
def predict_sentiment(net, vocab, texts, batch_size=64):
    """Probability of class 1 for a text, a float; for a list, (n,) of them.

    Tokens stand between blanks, as in training. `net` takes (ids, lengths),
    as BiRNN does; it runs in evaluation mode without gradients, on the
    device of its parameters, and is left in the mode it was in. The result
    for a list is on the CPU. Raises ValueError for a text without a token.
    """
    if isinstance(texts, str):
        return predict_sentiment(net, vocab, [texts]).item()
    rows = [torch.tensor(vocab[text.split()]) for text in texts]
    empty = [i for i, row in enumerate(rows) if not len(row)]
    if empty or not rows:
        raise ValueError(f"texts without a token: {empty} of {len(rows)}; "
                         "leave them out.")
    pairs = [(row, 0) for row in rows]
    loader = [pad_texts(pairs[i:i + batch_size], vocab["<pad>"])
              for i in range(0, len(pairs), batch_size)]
    return predict(net, loader)[0].softmax(dim=1)[:, 1]


# 16.2 Sentiment analysis: recurrent networks
def load_embeddings(vocab, token_embedding):
    """The vectors of a vocabulary's tokens, (len(vocab), d), in its order.

    `token_embedding` is a TokenEmbedding of Section 15.7; tokens that it
    lacks have the vector 0, and so have "<pad>" and "<unk>". The rows are
    copies. Raises ValueError if it has none of the tokens.
    """
    tokens = [token if token not in ("<pad>", "<unk>") else "<unk>"
              for token in vocab.idx_to_token]
    found = [t for t in tokens if t != "<unk>"
             and t in token_embedding.token_to_idx]
    if not found:
        raise ValueError(f"no vector for any of {len(vocab)} tokens, such as "
                         f"{tokens[-1]!r}; are both in lower case?")
    return token_embedding[tokens]


# 16.2 Sentiment analysis: recurrent networks
def minilm_vectors(words, d=100):
    """Input vectors of the encoder MiniLM for words, a TokenEmbedding.

    A word that is no piece of its vocabulary has the mean vector of its
    pieces; a word without pieces, a control character, is left out. Of 384
    numbers, the d principal components of the whole table of 30 522 pieces
    are kept, times one number that makes the mean square of these
    components 1. Raises ValueError unless 1 <= d <= 384.
    """
    net = minilm()
    table = net.words.weight.detach()  # (30522, 384)
    if not 1 <= d <= table.shape[1]:
        raise ValueError(f"d is {d}; take 1 to {table.shape[1]}.")
    table = table - table.mean(dim=0)
    _, axes = torch.linalg.eigh((table.mT @ table).double())
    axes = axes.flip(1)[:, :d].float()  # the largest variance first
    sign = axes.gather(0, axes.abs().argmax(dim=0)[None]).sign()
    table = table @ (axes * sign)  # (30522, d)
    table = table / table.square().mean().sqrt()
    pieces = {word: net.tokenize(word)[1:-1] for word in sorted(set(words))
              if word not in ("<pad>", "<unk>")}
    pieces = {word: ids for word, ids in pieces.items() if ids}
    rows = [table[ids].mean(dim=0) for ids in pieces.values()]
    return TokenEmbedding(([*pieces], torch.stack(rows)))


# 16.3 Sentiment analysis: convolutional networks
def corr1d(X, K):
    """Cross-correlation of X (n,) with a kernel K (k,): (n - k + 1,).

    Entry i is the inner product of K with X[i:i + k], on the device of X.
    Raises ValueError if one is no vector, or K is empty or longer than X.
    """
    if X.ndim != 1 or K.ndim != 1 or not 1 <= len(K) <= len(X):
        raise ValueError(f"corr1d got shapes {tuple(X.shape)} and "
                         f"{tuple(K.shape)}; give two vectors, the kernel "
                         "with 1 to len(X) entries.")
    return torch.stack([(X[i:i + len(K)] * K).sum()
                        for i in range(len(X) - len(K) + 1)])


def corr1d_multi_in(X, K):
    """Cross-correlation with channels: X (d, n), K (d, k): (n - k + 1,).

    The sum over the d rows of `corr1d`. Raises ValueError if X and K do
    not have the same number of rows, at least 1.
    """
    if X.ndim != 2 or K.ndim != 2 or not len(X) == len(K) >= 1:
        raise ValueError(f"corr1d_multi_in got shapes {tuple(X.shape)} and "
                         f"{tuple(K.shape)}; both need as many rows.")
    return sum(corr1d(x, k) for x, k in zip(X, K))


# 16.3 Sentiment analysis: convolutional networks
def masked_max(H, counts):
    """Largest of the first `counts` entries of each row: (b, c).

    H (b, c, m) is floating and `counts` (b,) holds integers; all channels of
    an example share its count. A count above m means all m; a count of 0
    has no largest entry and gives -inf. Raises ValueError for other shapes.
    """
    if H.ndim != 3 or counts.shape != H.shape[:1]:
        raise ValueError(f"masked_max got shapes {tuple(H.shape)} and "
                         f"{tuple(counts.shape)}; give (b, c, m) and (b,).")
    places = torch.arange(H.shape[2], device=H.device)
    outside = places >= counts[:, None, None]  # (b, 1, m)
    return H.masked_fill(outside, float("-inf")).max(dim=2).values


# 16.3 Sentiment analysis: convolutional networks
class TextCNN(nn.Module):
    """textCNN (Kim, 2014): n-gram detectors, pooled over the text.

    For each width k in `kernel_sizes`, a convolution with the number of
    output channels at the same place in `num_channels`. A token is a row of
    a trained table, `embed_size` numbers (0: no such table), followed by
    its row of a frozen copy of `vectors` (vocab_size, d), if it is given.
    `pool` is "max" or "mean", over the windows inside the text; with
    `masked=False` over those in the padding, too. A text shorter than k has
    one window, filled up with zeros. Raises ValueError if sizes disagree.
    """

    def __init__(self, vocab_size, embed_size, kernel_sizes, num_channels,
                 pool="max", vectors=None, masked=True, num_classes=2,
                 dropout=0.5):
        super().__init__()
        if len(kernel_sizes) != len(num_channels) or pool not in ("max",
                                                                  "mean"):
            raise ValueError(f"{len(kernel_sizes)} widths need as many "
                             f"numbers of channels, not {len(num_channels)}; "
                             f'and pool is "max" or "mean", not {pool!r}.')
        if vectors is not None and len(vectors) != vocab_size:
            raise ValueError(f"{len(vectors)} vectors do not fit a "
                             f"vocabulary of {vocab_size}.")
        if embed_size == 0 and vectors is None:
            raise ValueError("There is no table; give vectors, or an "
                             "embed_size above 0.")
        self.pool, self.masked = pool, masked
        self.trained = (nn.Embedding(vocab_size, embed_size)
                        if embed_size else None)
        self.register_buffer(
            "frozen", None if vectors is None else vectors.detach().clone())
        d = embed_size + (0 if vectors is None else vectors.shape[1])
        self.convs = nn.ModuleList(nn.Conv1d(d, c, k) for c, k in zip(
            num_channels, kernel_sizes))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sum(num_channels), num_classes)


# 16.3 Sentiment analysis: convolutional networks
@add_to_class(TextCNN)
def embed(self, ids, lengths):
    """Vectors (b, d, n) of tokens (b, n): 0 beyond the lengths (b,)."""
    rows = [] if self.trained is None else [self.trained(ids)]
    if self.frozen is not None:
        rows.append(F.embedding(ids, self.frozen))
    X = torch.cat(rows, dim=2)  # (b, n, d)
    places = torch.arange(ids.shape[1], device=ids.device)
    return (X * (places < lengths[:, None])[..., None]).mT


@add_to_class(TextCNN)
def maps(self, ids, lengths):
    """For each width: maps (b, c, m), and numbers of windows (b,)."""
    X, found = self.embed(ids, lengths), []
    for conv in self.convs:
        (k,) = conv.kernel_size
        short = k - X.shape[2]  # above 0: no window would fit
        H = conv(F.pad(X, (0, short)) if short > 0 else X).relu()
        counts = (lengths - k + 1).clamp(min=1)
        found.append((H, counts if self.masked else
                      torch.full_like(counts, H.shape[2])))
    return found


# 16.3 Sentiment analysis: convolutional networks
@add_to_class(TextCNN)
def encode(self, ids, lengths):
    """One number for each channel: (b, sum of num_channels)."""
    pooled = []
    for H, counts in self.maps(ids, lengths):  # (b, c, m), (b,)
        if self.pool == "max":
            pooled.append(masked_max(H, counts))
        else:
            inside = (torch.arange(H.shape[2], device=H.device)
                      < counts[:, None, None])  # (b, 1, m)
            pooled.append((H * inside).sum(dim=2) / counts[:, None])
    return torch.cat(pooled, dim=1)


@add_to_class(TextCNN)
def forward(self, batch):
    """Scores (b, num_classes) of a batch (ids (b, n), lengths (b,))."""
    return self.head(self.dropout(self.encode(*batch)))


# 16.3 Sentiment analysis: convolutional networks
class Winner(NamedTuple):
    """The n-gram with the largest value in a channel.

    `words` are its tokens, joined by blanks, the first of them token number
    `start`; `value` is what the channel found there, 0 or more, and
    `effect` what that adds to the score of class 1 minus that of class 0.
    """

    words: str
    start: int
    value: float
    effect: float


# 16.3 Sentiment analysis: convolutional networks
@torch.no_grad()
def winning_ngrams(net, vocab, text):
    """A `Winner` for each channel of a TextCNN, in the order of channels.

    `text` is split at blanks. The effects add up to the difference of the
    two scores in evaluation mode, less that of the two biases. A channel
    whose value is 0 found nothing, and its words mean nothing. Raises
    ValueError for a network without max pooling, masks and two classes,
    and for a text without tokens.
    """
    if net.pool != "max" or not net.masked or net.head.out_features != 2:
        raise ValueError('winning_ngrams needs a TextCNN with pool="max", '
                         "masked=True and num_classes=2.")
    if not (tokens := text.split()):
        raise ValueError(f"The text {text!r} holds no token.")
    device = net.head.weight.device
    ids = torch.tensor([vocab[tokens]], device=device)
    lengths = torch.tensor([len(tokens)], device=device)
    best = [(*H[0, :, :max(1, len(tokens) - k + 1)].max(dim=1), k)
            for conv, (H, _) in zip(net.convs, net.maps(ids, lengths))
            for k in conv.kernel_size]
    pull = net.head.weight[1] - net.head.weight[0]
    values = torch.cat([values for values, _, _ in best])
    places = [(i, k) for _, starts, k in best for i in starts.tolist()]
    return [Winner(" ".join(tokens[i:i + k]), i, value, effect)
            for (i, k), value, effect in zip(
                places, values.tolist(), (values * pull).tolist())]


# 16.4 Natural language inference and the dataset
def entails(scene_a, scene_b):
    """Whether all that `scene_b` states is so if `scene_a` is.

    Both are a `Scene` of `ToyWorld` (noun, adjective, verb, place) with
    None for a part that is not stated; a noun may be a kind such as
    "animal". Returns a bool.
    """
    return all(said is None or told == said
               or ToyWorld.kinds.get(told, "") == said
               for told, said in zip(scene_a, scene_b, strict=True))


def contradicts(scene_a, scene_b):
    """Whether both scenes, as in `entails`, cannot be so at once."""
    def below(noun):  # the nouns that a noun or kind may stand for
        return {n for n, kind in ToyWorld.kinds.items()
                if noun in (None, n, kind)}

    apart = not below(scene_a.noun) & below(scene_b.noun)
    return apart or any(ToyWorld.opposites.get(told, "") == said
                        for told, said in zip(scene_a, scene_b))


def relation(scene_a, scene_b):
    """0 for entailment, 1 for contradiction, 2 for neutral."""
    if entails(scene_a, scene_b):
        return 0
    return 1 if contradicts(scene_a, scene_b) else 2


# 16.4 Natural language inference and the dataset
def say(scene):
    """A sentence that states just what a `Scene` holds.

    Parts that are None are left out; besides the noun at least one more
    part is needed (ValueError).
    """
    noun, adjective, verb, place = scene
    if noun is None or not (adjective or verb or place):
        raise ValueError(f"{scene} is no sentence; give a noun and at least "
                         "one of adjective, verb and place.")
    where = ["near", "the", place] if place else []
    if not (verb or place):
        return f"the {noun} is {adjective}"
    return " ".join(["the", *([adjective] if adjective else []), noun,
                     verb or "is", *where])


def scene_of(sentence):
    """The `Scene` that a sentence states; None for what it leaves out."""
    words = sentence.split()
    known = ToyWorld.categories | {
        "noun": [*ToyWorld.kinds, *ToyWorld.kinds.values()]}
    return Scene(*(next((w for w in words if w in known[part]), None)
                   for part in Scene._fields))


# 16.4 Natural language inference and the dataset
LABELS = ("entailment", "contradiction", "neutral")


def plain_text(parse):
    """A sentence from its parse in brackets; tokens between single blanks."""
    own = {"-LRB-": "(", "-RRB-": ")"}
    return " ".join(own.get(t, t) for t in parse.split() if t not in "()")


def read_snli(root, split):
    """Pairs of SNLI, as a list of (premise, hypothesis, label).

    `root` is the folder of `d2l.fetch("snli-dev-test")` or of
    `d2l.fetch("snli")`, `split` "train", "dev" or "test" (the first set
    has no "train"). Sentences keep their capitals, with single blanks
    between tokens; labels are indices into `LABELS`. Pairs without a label
    ("-") are left out. Raises ValueError for a part that is not there.
    """
    root, rows = Path(root), []
    archive, name = root / "snli_1.0.zip", f"snli_1.0/snli_1.0_{split}.jsonl"
    if archive.exists():
        with zipfile.ZipFile(archive) as z:
            lines = z.open(name) if name in z.namelist() else ()
            for row in map(json.loads, lines):
                parses = (row.get(f"{s}_binary_parse", row[s])
                          for s in ("sentence1", "sentence2"))
                rows.append((*map(plain_text, parses), row["gold_label"]))
    elif (root / f"s1.{split}").exists():
        columns = ((root / f"{kind}.{split}").read_text("utf-8").splitlines()
                   for kind in ("s1", "s2", "labels"))
        rows = [[" ".join(cell.split()) for cell in row]
                for row in zip(*columns, strict=True)]
    if not rows:
        raise ValueError(f"{root} has no part {split!r} of SNLI.")
    return [(p, h, LABELS.index(label)) for p, h, label in rows
            if label != "-"]


# 16.4 Natural language inference and the dataset
class NLIData(DataModule):
    """Pairs of sentences for natural language inference, as indices.

    A batch is ((premise, hypothesis), label): int64 tensors (b, num_steps)
    twice and (b,). `train` and `test` are the same pairs as text. `name`
    is "snli-dev-test", split by premise (`premise_split`), "snli", the
    official training and test part, or "toy", 6000 + 1000 pairs of
    `ToyNLI`; `split_seed` is the seed of `premise_split` or `ToyNLI`, and
    its default gives the split of Section 15.10. `seed` sets the order of
    the batches and which `num_train` training pairs are taken, no more.
    Words that occur less than `min_freq` times in the training part become
    "<unk>". `source` is "real", "standin" or "toy".
    """

    def __init__(self, name="snli-dev-test", batch_size=64, num_steps=50,
                 min_freq=2, num_train=None, seed=0, split_seed=0):
        super().__init__()
        self.save_hyperparameters()
        self.train, self.test = self.choose()
        if num_train is not None:
            if not 0 < num_train <= len(self.train):
                raise ValueError(f"num_train is {num_train}; there are "
                                 f"{len(self.train)} training pairs.")
            rows = np.random.default_rng(seed).permutation(len(self.train))
            self.train = [self.train[i] for i in rows[:num_train]]
        self.vocab = Vocab([s.lower().split() for pair in self.train
                            for s in pair[:2]], min_freq, ["<pad>"])
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors = {part: self.encode(getattr(self, part))
                        for part in ("train", "test")}


# 16.4 Natural language inference and the dataset
@add_to_class(NLIData)
def choose(self):
    """The pairs of both parts, as text; sets `source`."""
    if self.name == "toy":
        self.source = "toy"
        pairs = ToyNLI(7000, self.split_seed).pairs
        return pairs[:6000], pairs[6000:]
    if self.name not in ("snli", "snli-dev-test"):
        raise ValueError(f'name is {self.name!r}; use "snli-dev-test", '
                         '"snli" or "toy".')
    found = d2l.fetch(self.name)
    self.source = found.source
    if self.name == "snli":
        return [read_snli(found.folder, part) for part in ("train", "test")]
    pairs = [pair for part in ("dev", "test")
             for pair in read_snli(found.folder, part)]
    return [[pairs[i] for i in rows]
            for rows in premise_split([p for p, *_ in pairs],
                                  self.split_seed)]


@add_to_class(NLIData)
def encode(self, pairs):
    """Tensors (n, num_steps), (n, num_steps), (n,) of pairs of text."""
    n, pad = len(pairs), self.vocab["<pad>"]
    ids = np.full((2, n, self.num_steps), pad, dtype=np.int64)
    for i, (*sentences, _) in enumerate(pairs):
        for side, sentence in zip(ids, sentences):
            row = self.vocab[sentence.lower().split()[:self.num_steps]]
            side[i, :len(row)] = row
    labels = torch.tensor([label for *_, label in pairs], dtype=torch.int64)
    return (*torch.from_numpy(ids), labels)


# 16.4 Natural language inference and the dataset
@add_to_class(NLIData)
def get_dataloader(self, train):
    """Batches of the training part, shuffled, or of the test part."""
    return d2l.BatchLoader(
        self.tensors["train" if train else "test"], self.batch_size,
        shuffle=train, generator=self.generator,
        transform=lambda p, h, y: ((p, h), y))


# 16.4 Natural language inference and the dataset
def pmi_words(pairs, label, k=8, smooth=10):
    """The k words of hypotheses that point most to a label.

    `pairs` are (premise, hypothesis, label). Returns a list of (word, PMI
    in bits, hypotheses of this label with the word, all hypotheses with
    it), the highest PMI first, equal ones by the word. `smooth` is added
    to every count. After Gururangan et al. (2018), arXiv:1803.02324.
    """
    if label not in range(len(LABELS)) or not smooth > 0:
        raise ValueError(f"label is {label!r}, smooth {smooth!r}; use 0, 1 "
                         "or 2 and a positive number.")
    found = Counter((w, y) for _, h, y in pairs
                    for w in set(h.lower().split()))
    words = sorted({w for w, _ in found})
    counts = np.array([[found[w, y] for y in range(len(LABELS))]
                       for w in words])  # (words, labels)
    joint = counts + smooth
    pmi = np.log2(joint[:, label] / joint.sum(1) * joint.sum()
                  / joint[:, label].sum())
    order = np.argsort(-pmi, kind="stable")[:k]
    return [(words[i], float(pmi[i]), int(counts[i, label]),
             int(counts[i].sum())) for i in order]


# 16.4 Natural language inference and the dataset
def pair_features(premise, hypothesis, kind):
    """Words of a pair as features: a dict from names to numbers.

    `kind` says what a classifier may see: "premise", "hypothesis", "both"
    bags of words, or "overlap": the words of the hypothesis, once more
    those that the premise lacks, and the share that it has.
    """
    p, h = (dict.fromkeys(s.lower().split()) for s in (premise, hypothesis))
    if kind not in ("premise", "hypothesis", "both", "overlap"):
        raise ValueError(f'kind is {kind!r}; use "premise", "hypothesis", '
                         '"both" or "overlap".')
    names = [f"p {w}" for w in p] if kind in ("premise", "both") else []
    if kind != "premise":
        names += [f"h {w}" for w in h]
    if kind == "overlap":
        new = [w for w in h if w not in p]
        share = 1 - len(new) / max(len(h), 1)
        return dict.fromkeys(names + [f"new {w}" for w in new], 1.0) | {
            "share": share}
    return dict.fromkeys(names, 1.0)


# 16.4 Natural language inference and the dataset
def linear_predictions(train, test, kind):
    """Labels (n,) that a linear classifier gives the pairs `test`.

    `train` and `test` are lists of (premise, hypothesis, label); logistic
    regression with L2 penalty 1/2, on the features of `pair_features`.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    table = DictVectorizer()
    X = table.fit_transform([pair_features(p, h, kind) for p, h, _ in train])
    model = LogisticRegression(max_iter=2000)
    model.fit(X, [label for *_, label in train])
    return model.predict(table.transform(
        [pair_features(p, h, kind) for p, h, _ in test]))


def hypothesis_only_accuracy(data):
    """Test accuracy of a linear classifier that sees no premise.

    `data` has lists `train` and `test` of (premise, hypothesis, label),
    as `NLIData` does.
    """
    answers = linear_predictions(data.train, data.test, "hypothesis")
    return float(np.mean(answers == [label for *_, label in data.test]))


# 16.4 Natural language inference and the dataset
class ToyNLI:
    """Pairs whose label cannot be told from the hypothesis.

    `pairs` are `n` triples (premise, hypothesis, label), one third of each
    label, in random order. The hypothesis is drawn before the label is
    looked at; then the premise states at least as much (entailment), the
    opposite of one stated adjective or verb (contradiction), or all but
    one stated fact (neutral), and further facts at random. The same
    `seed`, the same pairs.
    """

    def __init__(self, n, seed=0):
        if n < 1:
            raise ValueError(f"n is {n}; at least one pair is needed.")
        self.world = ToyWorld(seed)
        self.rng = self.world.rng
        self.pairs = []
        for label in self.rng.permutation(np.arange(n) % 3).tolist():
            hypothesis = self.hypothesis()
            premise = self.premise(hypothesis, label)
            self.pairs.append((say(premise), say(hypothesis), label))

    def hypothesis(self):
        """A scene that states an adjective or a verb, and perhaps more."""
        while True:
            noun, *rest = self.world.scene()
            if self.rng.random() < 0.3:
                noun = ToyWorld.kinds[noun]
            rest = [word if self.rng.random() < 0.5 else None
                    for word in rest]
            if rest[0] or rest[1]:
                return Scene(noun, *rest)


# 16.4 Natural language inference and the dataset
@add_to_class(ToyNLI)
def premise(self, hypothesis, label):
    """A scene to which `hypothesis` stands in the relation `label`."""
    stated = [part for part in Scene._fields if getattr(hypothesis, part)
              and (part != "noun" or hypothesis.noun in ToyWorld.kinds)]
    if label == 1:  # only these have opposites
        stated = [p for p in stated if p in ("adjective", "verb")]
    part = stated[int(self.rng.integers(len(stated)))]
    word = getattr(hypothesis, part)
    while True:
        more = self.world.scene()
        if hypothesis.noun not in ToyWorld.kinds:  # a kind: perhaps narrow
            while ToyWorld.kinds[more.noun] != hypothesis.noun:
                more = self.world.scene()
        facts = [said or (extra if self.rng.random() < 0.5 else None)
                 for said, extra in zip(hypothesis, more)]
        if hypothesis.noun not in ToyWorld.kinds and self.rng.random() < 0.5:
            facts[0] = more.noun
        scene = Scene(*facts)
        if label == 1:
            scene = scene._replace(**{part: ToyWorld.opposites[word]})
        elif label == 2:
            scene = scene._replace(
                **{part: ToyWorld.kinds.get(word)})  # a noun: its kind
        if any(scene[1:]):  # else it would be no sentence
            return scene


# 16.5 Natural language inference: attention
def mlp(num_inputs, num_hiddens, dropout=0.2):
    """Two layers with ReLU: (..., num_inputs) to (..., num_hiddens).

    Dropout acts in front of each.
    """
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(num_inputs, num_hiddens), nn.ReLU(),
        nn.Dropout(dropout), nn.Linear(num_hiddens, num_hiddens), nn.ReLU())


class Attend(nn.Module):
    """Soft alignment of two texts, both ways.

    Vectors A (b, m, d) and B (b, n, d) give beta (b, m, d), a mean of B for
    each token of A, and alpha (b, n, d), a mean of A for each of B. Tokens
    from `lens_a`, `lens_b` (b,) on are padding and get no weight; None:
    there is none. Source: Parikh et al. (2016), arXiv:1606.01933.
    """

    def __init__(self, num_inputs, num_hiddens, dropout=0.2):
        super().__init__()
        self.f = mlp(num_inputs, num_hiddens, dropout)

    def weights(self, A, B, lens_a=None, lens_b=None):
        """The weights: (b, m, n), over B, and (b, n, m), over A."""
        e = self.f(A) @ self.f(B).mT  # (b, m, n)
        return masked_softmax(e, lens_b), masked_softmax(e.mT, lens_a)

    def forward(self, A, B, lens_a=None, lens_b=None):
        over_b, over_a = self.weights(A, B, lens_a, lens_b)
        return over_b @ B, over_a @ A


# 16.5 Natural language inference: attention
class Compare(nn.Module):
    """Each token beside its partner: (b, m, w) and (b, n, w).

    w is `num_hiddens`. Called with vectors A (b, m, d), B (b, n, d) and what
    `Attend` gives for them.
    """

    def __init__(self, num_inputs, num_hiddens, dropout=0.2):
        super().__init__()
        self.g = mlp(2 * num_inputs, num_hiddens, dropout)

    def forward(self, A, B, beta, alpha):
        return (self.g(torch.cat((A, beta), dim=-1)),
                self.g(torch.cat((B, alpha), dim=-1)))


class Aggregate(nn.Module):
    """Sums of V_A (b, m, w) and V_B (b, n, w), to scores (b, k).

    Tokens from `lens_a`, `lens_b` (b,) on are left out; None: all count.
    """

    def __init__(self, num_hiddens, num_outputs=3, dropout=0.2):
        super().__init__()
        self.h = mlp(2 * num_hiddens, num_hiddens, dropout)
        self.output = nn.Linear(num_hiddens, num_outputs)

    def forward(self, V_A, V_B, lens_a=None, lens_b=None):
        sums = []
        for V, lens in ((V_A, lens_a), (V_B, lens_b)):
            if lens is not None:
                steps = torch.arange(V.shape[1], device=V.device)
                V = V.masked_fill((steps >= lens[:, None])[..., None], 0)
            sums.append(V.sum(dim=1))
        return self.output(self.h(torch.cat(sums, dim=1)))


# 16.5 Natural language inference: attention
class DecomposableAttention(nn.Module):
    """Three scores for pairs of texts; blind to the order of words.

    `vocab` has "<pad>". `vectors` (len(vocab), d) are frozen and mapped to
    `embed_size` numbers by a learned matrix; without them they are drawn
    from PyTorch's generator. With `masked=False` padding counts as text.
    Called with X = (premises (b, m), hypotheses (b, n)), indices of tokens
    with the padding last, it gives (b, 3). Raises ValueError if `vectors`
    do not fit. Source: Parikh et al. (2016), arXiv:1606.01933.
    """

    def __init__(self, vocab, embed_size, num_hiddens, vectors=None,
                 masked=True, dropout=0.2):
        super().__init__()
        if vectors is None:
            vectors = torch.randn(len(vocab), embed_size)
        if vectors.ndim != 2 or len(vectors) != len(vocab):
            raise ValueError(f"vectors are {tuple(vectors.shape)}; a "
                             f"vocabulary of {len(vocab)} needs a row each.")
        self.vocab, self.pad, self.masked = vocab, vocab["<pad>"], masked
        self.register_buffer("vectors", vectors)
        self.project = nn.Linear(vectors.shape[1], embed_size, bias=False)
        self.attend = Attend(embed_size, num_hiddens, dropout)
        self.compare = Compare(embed_size, num_hiddens, dropout)
        self.aggregate = Aggregate(num_hiddens, dropout=dropout)
        for layer in (self.project, self.attend.f[1], self.attend.f[4]):
            nn.init.xavier_uniform_(layer.weight)  # scores that differ

    def embed(self, X):
        """Vectors (b, m, e), (b, n, e) and lengths (b,), (b,), or None."""
        A, B = (self.project(self.vectors[ids]) for ids in X)
        return A, B, *((ids != self.pad).sum(dim=1) if self.masked else None
                       for ids in X)

    def forward(self, X):
        A, B, *lens = self.embed(X)
        V = self.compare(A, B, *self.attend(A, B, *lens))
        return self.aggregate(*V, *lens)


# 16.5 Natural language inference: attention
def cut(X, pad):
    """Index tensors without the columns that hold only padding."""
    return [ids[:, :max(1, int((ids != pad).sum(dim=1).max()))] for ids in X]


def predict_pairs(net, tensors, rows=256):
    """Labels (n,) that a `DecomposableAttention` gives, on the CPU.

    `tensors` begin with premises and hypotheses, indices (n, steps), on the
    CPU. Evaluation mode, without gradients; the mode comes back.
    """
    P, H = tensors[:2]
    answers = torch.empty(len(P), dtype=torch.int64)
    with evaluating(net):
        for part in (P != net.pad).sum(dim=1).argsort().split(rows):
            X = P[part], H[part]
            X = cut(X, net.pad) if net.masked else X
            answers[part] = net([ids.to(net.vectors.device) for ids in X]
                                ).argmax(dim=1).cpu()
    return answers


# 16.5 Natural language inference: attention
def fit_nli(net, train, test, epochs, lr=2e-3, batch_size=64, seed=0,
            bucket=1):
    """Train on pairs; returns {"loss": [...], "test": [...]}, by epoch.

    `train` and `test` (or None) are tuples of tensors (premises,
    hypotheses, labels) on the CPU; `net` is a `DecomposableAttention`, on
    any device. Adam. A batch holds premises of similar length, compared in
    steps of `bucket` tokens; it is cut to its longest sentences if `net` is
    masked. `seed` fixes the batches
    and PyTorch's global generator, for dropout. "test" is the accuracy.
    """
    device, history = net.vectors.device, {"loss": [], "test": []}
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr, fused=True)
    lens = (train[0] != net.pad).sum(dim=1)
    for _ in range(epochs):
        net.train()
        total = 0.0
        for part in length_buckets(lens // bucket, batch_size, order):
            *X, y = (tensor[part] for tensor in train)
            X = cut(X, net.pad) if net.masked else X
            scores = net([ids.to(device) for ids in X])
            loss = F.cross_entropy(scores, y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(part)
        history["loss"].append(float(total) / len(lens))
        if test is not None:
            right = predict_pairs(net, test) == test[2]
            history["test"].append(right.float().mean().item())
    return history


# 16.5 Natural language inference: attention
def as_pair(net, premise, hypothesis):
    """Index tensors (1, m), (1, n) of two strings, and their words."""
    words = [text.lower().split() for text in (premise, hypothesis)]
    if not all(words):
        raise ValueError(f"premise {premise!r} and hypothesis {hypothesis!r}"
                         " need a word each.")
    return [torch.tensor([net.vocab[row]], device=net.vectors.device)
            for row in words], words


def predict_nli(net, premise, hypothesis):
    """The label of two strings, and the probabilities (3,) of `LABELS`.

    Evaluation mode, without gradients; the mode of `net`, a
    `DecomposableAttention`, comes back. ValueError for an empty text.
    """
    with evaluating(net):
        p = net(as_pair(net, premise, hypothesis)[0])[0].softmax(dim=0).cpu()
    return LABELS[int(p.argmax())], p


def alignment(net, premise, hypothesis):
    """Weights (m, n) over the hypothesis and (n, m) over the premise.

    As `predict_nli`; row i of the first holds the weights of beta_i.
    """
    with evaluating(net):
        A, B, *lens = net.embed(as_pair(net, premise, hypothesis)[0])
        return [w[0].cpu() for w in net.attend.weights(A, B, *lens)]


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
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


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
class TaggingHead(nn.Module):
    """`num_tags` scores for each token: dropout and one linear layer."""

    def __init__(self, num_hiddens, num_tags, dropout=0.1):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(num_hiddens, num_tags)

    def forward(self, states):
        """(..., num_tags), for states (..., num_hiddens)."""
        return self.output(self.dropout(states))


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
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


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
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


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
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


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
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


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
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


# 16.6 Fine-tuning BERT for sequence-level and token-level applications
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


# 16.7 Natural language inference: fine-tuning BERT
class NLIBERTData(DataModule):
    """Pairs for natural language inference, packed for BERT.

    `dataset` has lists `train` and `test` of (premise, hypothesis, label),
    as `NLIData` does; `vocab` is a `BERTVocab`. A batch is ((tokens,
    segments (b, n), valid_lens (b,)), labels (b,)), int64 on the CPU, with n
    the longest pair of the batch, at most `max_len`; `tensors` holds the
    parts "train" and "test" whole, in this order. `seed` fixes the order
    of the training batches.
    """

    def __init__(self, dataset, max_len, vocab, batch_size=32, seed=0):
        super().__init__()
        self.save_hyperparameters(ignore=["dataset"])
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors = {
            part: pad_bert([(vocab.encode(p.lower()),
                             vocab.encode(h.lower()), y)
                            for p, h, y in getattr(dataset, part)],
                           max_len, vocab) for part in ("train", "test")}


# 16.7 Natural language inference: fine-tuning BERT
@add_to_class(NLIBERTData)
def subset(self, n, seed=0):
    """The same data with n random training pairs, batches by `seed`."""
    train, few = self.tensors["train"], copy.copy(self)
    if not 0 < n <= len(train[0]):
        raise ValueError(f"n is {n}; there are {len(train[0])} pairs.")
    rows = np.random.default_rng(seed).permutation(len(train[0]))[:n]
    few.tensors = {**self.tensors, "train": tuple(
        part[torch.from_numpy(rows)] for part in train)}
    few.seed, few.generator = seed, torch.Generator().manual_seed(seed)
    return few


@add_to_class(NLIBERTData)
def get_dataloader(self, train):
    """Batches of the training part, shuffled, or of the test part."""
    def pack(tokens, segments, lens, y):
        width = int(lens.max())
        return (tokens[:, :width], segments[:, :width], lens), y

    return d2l.BatchLoader(
        self.tensors["train" if train else "test"], self.batch_size,
        shuffle=train, generator=self.generator, transform=pack)


# 16.7 Natural language inference: fine-tuning BERT
class BERTClassifier(nn.Module):
    """Scores (b, k) of packed texts from a `BERTModel`.

    Takes over its encoder (the same object) and, with `pool="cls"`, a copy
    of its pooler; "mean" pools the vectors of all tokens but padding, with
    a new pooler behind. The two pretraining heads stay behind. Called with
    X = (tokens, segments (b, n), valid_lens (b,)). Source: Devlin et al.
    (2018), arXiv:1810.04805.
    """

    def __init__(self, bert, k=3, pool="cls", dropout=0.0):
        super().__init__()
        if pool not in ("cls", "mean"):
            raise ValueError(f'pool is {pool!r}; use "cls" or "mean".')
        self.encoder, self.pool = bert.encoder, pool
        d = bert.encoder.token_embedding.embedding_dim
        self.head = SequenceHead(d, k, dropout)
        if pool == "cls":
            self.head.pooler.load_state_dict(bert.pooler.state_dict())

    def forward(self, X):
        tokens, segments, lens = X
        states = self.encoder(tokens, segments, lens)  # (b, n, d)
        if self.pool == "mean":
            at = torch.arange(tokens.shape[1], device=tokens.device)
            inside = (at < lens[:, None])[..., None]  # (b, n, 1)
            states = (states * inside).sum(dim=1, keepdim=True) / (
                lens[:, None, None])
        return self.head(states)


# 16.7 Natural language inference: fine-tuning BERT
def pair_scores(model, data, rows=256):
    """Scores (n, k) on the CPU for the test part of an `NLIBERTData`.

    In evaluation mode, without gradients; the modes come back.
    """
    device = next(model.parameters()).device
    found = []
    with evaluating(model):
        for part in zip(*(t.split(rows) for t in data.tensors["test"][:3])):
            width = int(part[2].max())
            X = part[0][:, :width], part[1][:, :width], part[2]
            found.append(model(d2l.to_device(X, device)).cpu())
    return torch.cat(found)


# 16.7 Natural language inference: fine-tuning BERT
def finetune(model, data, lr, steps, warmup=0.1):
    """Train a classifier in place; returns the losses (steps,).

    `data` serves ((...), labels) by `train_dataloader`, as `NLIBERTData`,
    and starts anew when an epoch ends. AdamW with weight decay 0.01 on the
    parameters that require gradients; the rate rises to `lr` over a share
    `warmup` of the steps and falls linearly; gradients are clipped to the
    norm 1. The model is in training mode meanwhile and in evaluation mode
    afterwards. ValueError without a step, or unless 0 < warmup < 1.
    """
    if steps < 1 or not 0 < warmup < 1:
        raise ValueError(f"steps is {steps}, warmup {warmup}; train for a "
                         "step at least, with a share in (0, 1) of warmup.")
    params = [p for p in model.parameters() if p.requires_grad]
    device = params[0].device
    optimizer = torch.optim.AdamW(params, lr=lr, weight_decay=0.01,
                                  fused=device.type in ("cpu", "cuda"))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(
        (t + 1) / (warmup * steps), (steps - t) / ((1 - warmup) * steps)))
    batches, losses = iter(()), []
    model.train()
    for _ in range(steps):
        if (batch := next(batches, None)) is None:
            batches = iter(data.train_dataloader())
            batch = next(batches)
        X, y = d2l.to_device(batch, device)
        loss = F.cross_entropy(model(X), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    model.eval()
    return torch.stack(losses).cpu()


# 16.7 Natural language inference: fine-tuning BERT
def probe_bert(net):
    """Vectors of the first tokens of the vocabulary, to know a net by."""
    V, n = (table.num_embeddings for table in (
        net.encoder.token_embedding, net.encoder.pos_embedding))
    tokens = torch.arange(min(V, n, 8), device=next(net.parameters()).device)
    with evaluating(net):
        return net.encoder(tokens[None])[0].cpu()


def save_pretrained(path, net, vocab):
    """Write a `BERTModel` and its `BERTVocab` of words to a folder.

    Files: config.json, vocab.json, model.safetensors, with the vectors of
    `probe_bert` in the latter.
    """
    path, enc = Path(path), net.encoder
    path.mkdir(parents=True, exist_ok=True)
    V, d = enc.token_embedding.weight.shape
    config = {"vocab_size": V, "num_hiddens": d,
              "ffn_num_hiddens": enc.blks[0].ffn.net[0].out_features,
              "num_heads": enc.blks[0].attention.num_heads,
              "num_blks": len(enc.blks), "dropout": enc.dropout.p,
              "max_len": enc.pos_embedding.num_embeddings}
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    (path / "vocab.json").write_text(json.dumps(vocab.tokens), "utf-8")
    state = {name: t.detach().cpu().clone()  # the tied table twice
             for name, t in net.state_dict().items()}
    save_file({**state, "probe": probe_bert(net)},
              path / "model.safetensors")


# 16.7 Natural language inference: fine-tuning BERT
def load_pretrained(path):
    """A `BERTModel` in evaluation mode and its `BERTVocab`, from a folder.

    The folder is one of `save_pretrained`. Raises TypeError for a
    configuration with names missing or unknown, RuntimeError for weights
    that do not fit it in name or shape, ValueError if the vocabulary has
    another size or the network does not reproduce the stored vectors.
    """
    path = Path(path)
    config, tokens = (json.loads((path / f"{name}.json").read_text("utf-8"))
                      for name in ("config", "vocab"))
    words = Vocab([], 0, tokens)
    if words.idx_to_token != tokens or len(tokens) != config["vocab_size"]:
        raise ValueError(f"vocab.json has {len(tokens)} tokens, the "
                         f"configuration {config['vocab_size']}, or they "
                         "are out of order; take both from one checkpoint.")
    net, state = BERTModel(**config), load_file(path / "model.safetensors")
    probe = state.pop("probe")
    net.load_state_dict(state, strict=True)
    if (change := (probe_bert(net) - probe).abs().max()) > 1e-3:
        raise ValueError(f"the network's vectors are off by {change:.2g}: "
                         "num_heads, or another number that no shape shows, "
                         "is not that of the checkpoint.")
    return net.eval(), BERTVocab(words)


# 16.7 Natural language inference: fine-tuning BERT
def tuned(model, data, lr, steps):
    """Fine-tune in place, once; later the same is read from the disk.

    `model` and `data` as for `finetune`; the results are {"scores" (test
    pairs, k), "losses" (steps,)} and the weights of the model, which are
    loaded into it.
    """
    def compute():
        losses = finetune(model, data, lr, steps)
        return {"scores": pair_scores(model, data), "losses": losses,
                **{f" {k}": v for k, v in model.state_dict().items()}}

    free = [n for n, p in model.named_parameters() if p.requires_grad]
    code = [type(model).forward, NLIBERTData.get_dataloader, finetune,
            pair_scores]
    found = kept("nli-bert", [
        str(model), list(model.children()), free, data.tensors["train"],
        data.tensors["test"], data.batch_size, data.seed, lr, steps, code],
        compute)
    model.load_state_dict({k[1:]: v for k, v in found.items()
                           if k.startswith(" ")})
    model.eval()
    return {k: v for k, v in found.items() if not k.startswith(" ")}


def label_curve(ns, init, seeds, data, lr, steps):
    """Test accuracies (len(ns), len(seeds)) after fine-tuning on n labels.

    `init(seed)` gives a new classifier; each is trained by `tuned` on
    `data.subset(n, seed)`, with PyTorch's generator set to the seed before.
    """
    result = np.empty((len(ns), len(seeds)))
    truth = data.tensors["test"][3]
    for i, n in enumerate(ns):
        for j, s in enumerate(seeds):
            torch.manual_seed(s)
            scores = tuned(init(s), data.subset(n, s), lr, steps)["scores"]
            right = scores.argmax(dim=1) == truth
            result[i, j] = right.float().mean().item()
    return result


# 16.7 Natural language inference: fine-tuning BERT
def chat_example(instruction, text, answer, vocab):
    """Ids and labels, two lists of equal length, of one instruction.

    "<user>", the instruction, ":", the text, "<model>", the answer,
    "<end>", each with blanks between its words; `vocab` has the three
    marks. Labels are -100 in the prompt, up to and with "<model>".
    """
    prompt = vocab[f"<user> {instruction} : {text} <model>".split()]
    told = vocab[[*answer.split(), "<end>"]]
    return prompt + told, [-100] * len(prompt) + told


def score_choices(model, prompt, choices):
    """Log-probabilities (k,) of k choices after a prompt.

    `model` gives scores (n, steps, V) of the next token, `prompt` is a list
    of ids, `choices` a list of k such lists; the log-probabilities of the
    tokens of a choice are added. In evaluation mode, without gradients.
    ValueError for an empty prompt or choice.
    """
    if not len(prompt) or not choices or not all(map(len, choices)):
        raise ValueError(f"prompt {prompt} and choices {choices}: each needs "
                         "a token at least.")
    device, width = next(model.parameters()).device, max(map(len, choices))
    rows = torch.tensor([[*prompt, *c, *[c[-1]] * (width - len(c))]
                         for c in choices], device=device)  # causal: no mask
    with evaluating(model):
        logp = model(rows[:, :-1])[:, len(prompt) - 1:].log_softmax(dim=-1)
    told = logp.gather(2, rows[:, len(prompt):, None])[..., 0]  # (k, width)
    lens = torch.tensor([len(c) for c in choices], device=device)
    inside = torch.arange(width, device=device) < lens[:, None]
    return (told * inside).sum(dim=1)
