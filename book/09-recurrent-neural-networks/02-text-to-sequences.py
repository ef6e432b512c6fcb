# ---
# jupyter:
#   d2l:
#     data: [time-machine, austen]
#     profiles:
#       gpu:
#         num_gpus: 1
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

# %%
import re
from collections import Counter

import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import DataModule

# %% tags=["parameters"]
num_gpus = 0  # 1: use an accelerator, if there is one

# %% tags=["export"]
def read_text(name):
    """The text of a data set of one file, such as "time-machine"."""
    path, = d2l.fetch(name).files.values()
    return path.read_text(encoding="utf-8")

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

    def __getitem__(self, tokens):
        """The index of a token, or a list of the same form of indices."""
        if isinstance(tokens, (list, tuple)):
            return [self[token] for token in tokens]
        return self.token_to_idx.get(tokens, self.unk)

    def to_tokens(self, indices):
        """The token of an index, or the list of those of several."""
        if isinstance(indices, torch.Tensor):
            indices = indices.tolist()
        if isinstance(indices, (list, tuple)):
            return [self.to_tokens(index) for index in indices]
        return self.idx_to_token[indices]

    @property
    def unk(self):
        """The index of the unknown token."""
        return self.token_to_idx["<unk>"]

# %% tags=["export"]
class TextData(DataModule):
    """A text as a sequence of indices.

    `name` is a data set of one file. `preprocess` keeps the letters, in
    lower case, and puts one space for each run of other characters.
    """

    def __init__(self, name="time-machine"):
        super().__init__()
        self.save_hyperparameters()

    def preprocess(self, text):
        return re.sub("[^A-Za-z]+", " ", text).lower()

    def tokenize(self, text):
        """A list of characters; a subclass may choose other tokens."""
        return list(text)

    def build(self, raw_text, vocab=None):
        """The corpus (T,), indices as a tensor, and its vocabulary.

        With `vocab` tokens that it lacks become "<unk>".
        """
        tokens = self.tokenize(self.preprocess(raw_text))
        if vocab is None:
            vocab = Vocab(tokens)
        return torch.tensor(vocab[tokens]), vocab

# %% tags=["export"]
def ngrams(tokens, n):
    """All runs of n neighbours in a list of tokens, as tuples."""
    return list(zip(*(tokens[i:] for i in range(n))))

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
