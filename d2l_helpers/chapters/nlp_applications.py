"""Chapter 16, Natural language processing: applications: what its sections teach and later ones use.

Generated from book/16-nlp-applications/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import numpy as np
import torch
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.nlp_pretraining import FreshBatches
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from functools import partial
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader


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
