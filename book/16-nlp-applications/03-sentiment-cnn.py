# ---
# jupyter:
#   d2l:
#     data: [sentence-polarity, minilm, bert-vocab]
#     profiles:
#       gpu:
#         num_gpus: 1
#         num_train: 8662
#         num_full: 8662
#         num_dims: 384
#         film_widths: [3, 4, 5]
#         num_filters: 100
#         film_epochs: 10
#       smoke:
#         num_reviews: 200
#         toy_epochs: 1
#         num_seeds: 1
#         num_train: 200
#         num_full: 200
#         film_epochs: 1
#     rehearsal:
#       num_train: 0.03
#       num_full: 0.03
#       num_filters: 0.1
#       film_epochs: 0.1
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
# # 16.3 Sentiment analysis: convolutional networks
#
# A critic's verdict often sits in a few words: "not very funny", "a waste of time".
# A network that looks for such short runs of words, wherever they stand, need not read the text in order.
# This section builds one, takes apart what it detects and what it cannot, and measures it against counting.
#
# **You will**
#
# - write one-dimensional cross-correlation, and read a filter over word vectors as a soft n-gram;
# - build textCNN with max-over-time pooling that the padding cannot reach;
# - predict from the width of the filters where most errors of a network will lie, and check it;
# - trace each prediction back to the n-grams that won, exactly;
# - find out what pretrained word vectors are worth here, beside naive Bayes.
#
# **Cost**: about a minute on a CPU, no GPU needed; downloads of about 64 MB, once, if [Section 16.1](01-sentiment-data.ipynb) has not fetched them.

# %%
import time
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle
from scipy.stats import binomtest
from sklearn.naive_bayes import MultinomialNB
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    PositionalEncoding)
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.convolutional_neural_networks import corr2d
from d2l_helpers.chapters.linear_classification import predict
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.nlp_applications import (
    BiRNN, TextClassificationData, ToyReviews, bow_features, load_embeddings,
    minilm_vectors, read_sentences, split_texts)

d2l.use_style()

# %% tags=["parameters"]
num_gpus = 0
num_seeds = 3
num_reviews = 1200  # made-up reviews
toy_epochs = 8
num_train = 2500  # film sentences, in each split
num_full = 8662  # once more with so many, in one split
num_dims = 100  # of each word vector
film_widths = [1, 2, 3]
num_filters = 32  # of each width
film_epochs = 3

# %% [markdown]
# ## One-dimensional cross-correlation
#
# Slide a kernel $\mathbf k$ of $k$ numbers along a sequence $\mathbf x$ of $n$, and take the inner product at each place:
#
# $$h_i=\sum_{j=0}^{k-1}k_jx_{i+j},\qquad i=0,\dots,n-k.$$
#
# It is [Section 7.2](../07-convolutional-neural-networks/02-convolutions.ipynb) with one axis less.
# With $\mathbf x=(0,1,\dots,6)$ and $\mathbf k=(1,2)$ the first output is $0\cdot1+1\cdot2=2$ and each next one is 3 larger, for both inputs grow by 1.
# A text has a vector at each place, so its input is a matrix of $d$ rows, the channels, and the kernel has $d$ rows too: correlate row by row and add.

# %% tags=["export"]
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

# %%
# check 16.3-C1: numbers by hand, the layer, and two axes
x = torch.arange(7.0)
X = torch.stack([x, x + 1, x + 2])  # (channels, n)
K = torch.tensor([[1.0, 2], [3, 4], [-1, -3]])
print(corr1d(x, K[0]).tolist(), corr1d_multi_in(X, K).tolist())
assert corr1d(x, K[0]).tolist() == [2, 5, 8, 11, 14, 17]
assert corr1d_multi_in(X, K).tolist() == [2, 8, 14, 20, 26, 32]
generator = torch.Generator().manual_seed(0)
X, K = (torch.randn(6, n, generator=generator) for n in (11, 4))
torch.testing.assert_close(corr1d_multi_in(X, K),
                           F.conv1d(X[None], K[None])[0, 0])
torch.testing.assert_close(corr1d_multi_in(X, K), corr2d(X, K)[0])

# %% [markdown]
# The last line of check C1 compares with two-dimensional cross-correlation: a kernel as high as its input has no room to move up or down, so it moves along one axis only.
# Many channels are the same as one matrix and a kernel of full height.
#
# ## textCNN
#
# Kim (2014) put one such layer on word vectors, on the very film sentences of [Section 16.1](01-sentiment-data.ipynb).
# A filter $c$ of width $k$ gives at each window of $k$ tokens
#
# $$h_{c,i}=\mathrm{ReLU}\Bigl(b_c+\sum_{j=0}^{k-1}\mathbf w_{c,j}^\top\mathbf x_{i+j}\Bigr),\qquad z_c=\max_ih_{c,i},$$
#
# where $\mathbf x_i$ is the vector of token $i$, with $d$ numbers, $\mathbf w_{c,j}$, of as many, are the filter's weights for place $j$, and $b_c$ is its bias.
# The step from $h$ to $z$ is *max-over-time pooling* (Collobert and others, 2011): it keeps how strongly a filter responded, and forgets where.
# Each term $\mathbf w_{c,j}^\top\mathbf x_{i+j}$ depends on one word and its place in the window alone.
# So a filter is a list of $k$ scores for every word of the vocabulary, and it finds the n-gram whose scores add up to most: a soft n-gram, because words with similar vectors have similar scores.
# That is also its limit: before the ReLU, "not" adds the same to "not good" as to "not bad".
#
# Filters of several widths run side by side, their maxima are joined into one vector, and after dropout a linear layer makes the scores of the classes.
# Kim took widths 3, 4 and 5, with 100 filters of each, and a dropout of 0.5.

# %% tags=["hide-input"]
def grid(ax, x, y, rows, columns, color, edge="0.5", size=1.0):
    """Cells of a matrix, the upper left corner at (x, y)."""
    for i in range(rows):
        for j in range(columns):
            ax.add_patch(Rectangle((x + j * size, y - (i + 1) * size), size,
                                   size, facecolor=color, edgecolor=edge,
                                   linewidth=0.6))


fig, ax = plt.subplots(figsize=(7, 3.4))
grid(ax, 0, 6, 6, 11, "0.93")
for start, width, color in ((1, 2, "C0"), (6, 4, "C1")):
    ax.add_patch(Rectangle((start, 0), width, 6, facecolor=color, alpha=0.35,
                           edgecolor=color, linewidth=2))
maps = ((4, 10, "C0", 8.2, 1), (5, 8, "C1", 3.2, 6))
for rows, columns, color, top, start in maps:
    grid(ax, 14, top, rows, columns, "white")
    ax.add_patch(Rectangle((14 + start, top - 1), 1, 1, facecolor=color))
    ax.text(14, top + 0.25, f"{rows} maps of {columns} windows", fontsize=8)
    for row in range(rows):
        ax.annotate("", (26.4, top - row - 0.5), (24.2 if columns == 10
                    else 22.2, top - row - 0.5),
                    arrowprops=dict(arrowstyle="->", color="0.6", lw=0.6))
    grid(ax, 26.5, top, rows, 1, color)
ax.annotate("", (14, 7.5), (3, 5.4), arrowprops=dict(
    arrowstyle="->", color="C0", shrinkA=4))
ax.annotate("", (19.9, 2.7), (10, 2.4), arrowprops=dict(
    arrowstyle="->", color="C1", shrinkA=0))
grid(ax, 30.5, 5, 2, 1, "0.8")
ax.annotate("", (30.4, 4.0), (27.7, 4.0),
            arrowprops=dict(arrowstyle="->", color="0.3"))
for place, text in (((0, 6.3), "11 tokens, 6 numbers each"),
                    ((25.2, 8.6), "9 maxima"), ((29.2, 5.3), "2 scores")):
    ax.text(*place, text, fontsize=8)
ax.set(xlim=(-0.3, 33), ylim=(-2.1, 9.3), aspect="equal")
ax.axis("off")
d2l.describe(ax, """From left to right: a matrix of 6 rows and 11 columns, a
    window of width 2 and full height in blue and one of width 4 in orange; 4
    maps of 10 cells and 5 maps of 8 cells, where one cell of the first map
    of each is filled; a column of 4 blue and 5 orange maxima; two scores.""")

# %% [markdown]
# **Figure 16.3.1.** textCNN with four filters of width 2 (blue) and five of width 4 (orange). A window of full height becomes one number of a map; each map becomes its maximum.
#
# A text of 11 tokens has $11-2+1=10$ windows of width 2 and 8 of width 4, so four and five filters make maps of $4\times10$ and $5\times8$ numbers, and nine maxima.
#
# Real batches have padding, and windows that reach into it are not n-grams of the text.
# If the padding's vectors are 0, a window there gives $\mathrm{ReLU}(b_c)$, and where that is more than every real window found, the padding wins.
# So the maximum is taken over the windows inside the text only.

# %% tags=["hide-input"]
# check: what does not fit is refused, with the reason
def refuses(words, call, *args, **kwargs):
    """Whether a call raises a ValueError whose message holds `words`."""
    try:
        call(*args, **kwargs)
    except ValueError as error:
        return words in str(error)
    return False


for wrong in ((x, K[0, :0]), (K[0], x), (X, x), (x, K)):
    assert refuses("two vectors", corr1d, *wrong)
for wrong in ((X, K[:5]), (X[:5], K), (X[:0], K[:0]), (x, K), (X, x)):
    assert refuses("as many rows", corr1d_multi_in, *wrong)

# %% tags=["export"]
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

# %% tags=["export"]
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

# %% [markdown]
# In one of Kim's variants each token has two vectors, one from a table that training changes and one from a table that it does not; as in *Dive into Deep Learning* (Zhang and others, 2023), ours are joined into one longer vector (Kim applies each filter to both, and adds the results).
# Either table may be left out.
# The frozen one is a buffer: it moves with the model, and no optimizer sees it.

# %% tags=["export"]
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

# %% tags=["export"]
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

# %%
# check 16.3-C2: the shapes of the figure
torch.manual_seed(0)
net = TextCNN(20, 6, (2, 4), (4, 5)).eval()
ids, lengths = torch.randint(20, (1, 11)), torch.tensor([11])
found = net.maps(ids, lengths)
print([tuple(H.shape) for H, _ in found], tuple(net.encode(ids,
                                                           lengths).shape))
assert [tuple(H.shape[1:]) for H, _ in found] == [(4, 10), (5, 8)]
assert [counts.item() for _, counts in found] == [10, 8]
assert net.encode(ids, lengths).shape == (1, 9)
X = net.embed(ids, lengths)[0]  # (6, 11)
by_hand = [(corr1d_multi_in(X, K) + b).relu().max() for conv in net.convs
           for K, b in zip(conv.weight, conv.bias)]
torch.testing.assert_close(net.encode(ids, lengths)[0], torch.stack(by_hand))
assert all((H >= 0).all() for H, _ in found)
torch.testing.assert_close(
    net((ids, lengths)), net.encode(ids, lengths) @ net.head.weight.mT
    + net.head.bias)

# check 16.3-C4: how many parameters
net = TextCNN(78, 50, (3, 4, 5), (50, 50, 50))
assert count_params(net) == 78 * 50 + (3 + 4 + 5) * 50 * 50 + 150 + 302
assert count_params(net) == 34_352
frozen = TextCNN(78, 0, (3, 4, 5), (50, 50, 50), vectors=torch.ones(78, 50))
table = torch.ones(78, 7)
both = TextCNN(78, 50, (3,), (1,), vectors=table)
table.zero_()  # theirs is a copy
assert count_params(frozen) == 34_352 - 78 * 50
assert both.embed(ids, lengths).shape == (1, 57, 11)
assert (both.embed(ids, lengths)[0, 50:] == 1).all()
assert "frozen" in both.state_dict() and net.dropout.p == 0.5

# %% tags=["hide-input"]
# check: the same for textCNN
H = torch.ones(2, 3, 4)
for wrong in ((H[0], torch.ones(3)), (H, lengths), (H, H[:, :1, 0])):
    assert refuses("give (b, c, m)", masked_max, *wrong)
for words, args in (("2 widths need", (9, 4, (2, 3), (5,))),
                    ("'sum'", (9, 4, (2,), (5,), "sum")),
                    ("8 vectors", (9, 4, (2,), (5,), "max", H[0, :1].expand(
                        8, 4))), ("no table", (9, 0, (2,), (5,)))):
    assert refuses(words, TextCNN, *args)

# %% [markdown]
# ## Padding
#
# Does padding reach the result?
# We make the batch longer without changing a text, for both kinds of pooling, with and without masks.

# %%
# check 16.3-C3: what padding and order can change
def padded(ids, extra, value=0):
    """The same texts in longer rows."""
    return F.pad(ids, (0, extra), value=value)


ids, lengths = torch.randint(1, 20, (4, 9)), torch.tensor([9, 5, 2, 7])
drift = {}
for pool in ("max", "mean"):
    for masked in (True, False):
        torch.manual_seed(1)
        net = TextCNN(20, 6, (2, 4), (8, 8), pool, masked=masked).eval()
        with torch.no_grad():
            short, long, other = (net.encode(batch, lengths) for batch in (
                ids, padded(ids, 40), padded(ids, 40, value=7)))
        drift[pool, masked] = (long - short).abs().max().item()
        assert torch.equal(long, other)  # which token fills does not matter
        alone = [net.encode(row[None, :n], n[None]) for row, n in zip(
            ids, lengths)] if masked else [short]
        torch.testing.assert_close(torch.cat(alone), short)
    print(pool, {("masked" if m else "not masked"): round(drift[pool, m], 6)
                 for m in (True, False)})
    assert drift[pool, True] < 1e-6 < 0.02 < drift[pool, False]
H = net.maps(ids[:1], lengths[:1])[0][0]  # (1, 8, 8): all windows are real
order = torch.randperm(H.shape[2], generator=generator)
assert torch.equal(masked_max(H, torch.tensor([8])),
                   masked_max(H[..., order], torch.tensor([8])))
assert masked_max(H, torch.tensor([3])).equal(H[..., :3].amax(2))
assert masked_max(H, torch.tensor([99])).equal(H.amax(2))
assert masked_max(-1 - H, torch.tensor([0])).isneginf().all()
net.train()  # dropout acts in training only
assert not net((ids, lengths)).equal(net((ids, lengths)))

# %% [markdown]
# With masks nothing changes, and a text alone gives the same as in a batch; without them both poolings move.
# For the average it does not take a large bias in an unlucky place: with $m$ windows in the text and $p$ in the padding it is $(\sum_ih_{c,i}+p\,\mathrm{ReLU}(b_c))/(m+p)$, up to the few windows that straddle the end, and with much padding every text tends to the same numbers.
# *Dive into Deep Learning* describes max-over-time pooling and codes `AdaptiveAvgPool1d(1)`, the average over all windows, padding included (with the ReLU after it).
# What does padding do to the scores of a trained network?
#
# ## What a width can see
#
# The reviews of [Section 16.1](01-sentiment-data.ipynb)'s `ToyReviews` hold no signal in single words: an adjective stands as often for itself as behind a "not", mostly with an intensifier between the two.
# In half of them the earlier opinions are drawn by coins, and the last clause, after ", but overall", alone decides.
# A short training loop serves the whole section.

# %%
device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")


def train_text(net, data, epochs, lr, seed=0):
    """Train by Adam; the order of the batches hangs on `seed` alone."""
    data.generator.manual_seed(seed)
    net.to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr, fused=True)
    for _ in range(epochs):
        for batch in data.train_dataloader():
            X, y = d2l.to_device(batch, device)
            loss = F.cross_entropy(net(X), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def hits(net, data):
    """For each test text, whether its label is predicted: bool (n,)."""
    scores, y = predict(net, data.val_dataloader())
    return (scores.argmax(1) == y).numpy()


toy, toy_test = ToyReviews(num_reviews, 0), ToyReviews(1000, 1)
data = TextClassificationData((toy.texts, toy.labels),
                              (toy_test.texts, toy_test.labels),
                              bucketing=True)
full_toy = num_reviews == 1200 and toy_epochs == 8 and num_seeds == 3
print(len(data.vocab), "entries;", toy_test.texts[0])

# %%
designs = {"1": ((1,), "max"), "2": ((2,), "max"), "3": ((3,), "max"),
           "3, 4, 5": ((3, 4, 5), "max"), "average": ((3, 4, 5), "mean")}
nets, right = {}, {}
for name, (widths, pool) in designs.items():
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        net = TextCNN(len(data.vocab), 16, widths, [16] * len(widths), pool,
                      dropout=0.2)
        train_text(net, data, toy_epochs, lr=0.01, seed=seed)
        nets[name, seed], right[name, seed] = net, hits(net, data)
    print(f"{name:8}", *(f"{right[name, s].mean():.3f}"
                         for s in range(num_seeds)))

# %% [markdown]
# Each column is a seed: of the initial weights, the dropout and the batches, with the same reviews.
# Width 1 stays at chance, and width 2 gains next to nothing, although pairs such as "not good" do occur.
# Width 3 sees "not very good" whole, and gets most of the way.
# What does it still miss?
# Suppose the deciding clause is "but overall not very good".
# A window of three words sees "overall not very" without the verdict, or "not very good" without "overall"; and the same "not very good" may stand in the clauses that do not count.
# A window of four sees all of it.
# So most errors of width 3 should lie with the reviews whose last clause is negated and intensified: three words and "." after "overall".
# In the table below, "one opinion" is short for no "overall": all opinions of such a review agree.

# %%
kinds = np.array(["one opinion" if "overall" not in text else
                  "overall + 1 or 2 words" if len(
                      text.split("overall ")[1].split()) < 4 else
                  "overall + 3 words" for text in toy_test.texts])
wrong = {(name, kind): [float(1 - right[name, s][kinds == kind].mean())
                        for s in range(num_seeds)]
         for name in designs for kind in np.unique(kinds)}
for kind in np.unique(kinds):
    print(f"{kind:22} {np.mean(kinds == kind):.2f} of the reviews; errors",
          {name: round(float(np.mean(wrong[name, kind])), 3)
           for name in ("3", "3, 4, 5")})

# %%
# check 16.3-C5: all widths together solve it
# check 16.3-C6: what each width alone can see
if full_toy:
    for seed in range(num_seeds):
        assert right["3, 4, 5", seed].mean() > 0.97
        assert right["average", seed].mean() > 0.9
        assert abs(right["1", seed].mean() - 0.5) < 0.06
        assert right["2", seed].mean() < 0.6
        assert 0.85 < right["3", seed].mean() < 0.97
        unseen = wrong["3", "overall + 3 words"][seed]
        assert unseen > 0.15
        assert unseen > 3 * wrong["3", "overall + 1 or 2 words"][seed]
        assert wrong["3", "one opinion"][seed] < 0.03
        assert wrong["3, 4, 5", "overall + 3 words"][seed] < 0.05

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7, 2.5), layout="constrained")
for i, name in enumerate(designs):
    axes[0].plot([i] * num_seeds, [right[name, s].mean() for s in
                                   range(num_seeds)], "o", color="C0", ms=5,
                 mfc="none")
axes[0].axhline(0.5, color="k", lw=0.8, ls=":")
axes[0].set_xticks(range(5), [*designs][:4] + ["3, 4, 5\naverage"])
axes[0].set(xlabel="widths", ylabel="test accuracy", ylim=(0.4, 1.03))
longer = [0, 10, 30, 100, 300]
loaders = {extra: [((padded(ids, extra), n), y) for (ids, n), y in
                   list(data.val_dataloader())[:5]] for extra in longer}
reached = {}
for name, pool in (("3, 4, 5", "max"), ("average", "average")):
    for masked in (True, False):
        net = nets[name, 0]
        net.masked = masked
        for extra in longer:
            scores, y = predict(net, loaders[extra])
            gap = (scores[:, 1] - scores[:, 0]).abs().mean().item()
            reached[pool, masked, extra] = gap, (
                scores.argmax(1) == y).float().mean().item()
        net.masked = True
        axes[1].plot(range(5), [reached[pool, masked, e][0] for e in longer],
                     "o-" if masked else "s--", ms=4, mfc="none",
                     color="C0" if pool == "max" else "C1",
                     label=f"{pool}, {'masked' if masked else 'not masked'}")
axes[1].set_xticks(range(5), longer)
axes[1].set(xlabel="more padding, tokens", ylabel="mean gap of the scores",
            ylim=(0, 9))
axes[1].legend(fontsize=7, ncols=2)
d2l.describe(fig, """Left: test accuracy of five designs, three seeds each:
    widths 1 and 2 near 0.5, width 3 near 0.92, widths 3, 4, 5 near 1 with
    the maximum and a little below with the average. Right: the mean gap
    of the two scores against added padding. Both masked networks and the
    maximum without masks are flat lines; the average without masks starts at
    less than half of the masked one and falls close to 0.""")

# %% [markdown]
# **Figure 16.3.2.** Left: made-up reviews, test accuracy by widths, a mark for each seed. Right: two of these networks (seed 0) read 320 test reviews with more padding, with their masks and with the masks taken off; the mean absolute difference of their two scores.

# %%
# check 16.3-C3, continued: what padding does to trained networks
if full_toy:
    for pool in ("max", "average"):
        gaps = [reached[pool, True, e][0] for e in longer]
        assert max(gaps) - min(gaps) < 1e-4
        drop = reached[pool, False, 300][0] / gaps[0]
        print(f"{pool}: {drop:.2f} of the gap left without masks, accuracy "
              f"{reached[pool, False, 300][1]:.3f}")
        assert drop < 0.15 if pool == "average" else abs(drop - 1) < 0.1
        assert pool == "max" or reached[pool, False, 0][0] < 0.6 * gaps[0]
        assert reached[pool, False, 300][1] > 0.75
    for seed in (1, 2):
        net = nets["average", seed]
        net.masked = False
        scores, y = predict(net, loaders[300])
        assert (scores.argmax(1) == y).float().mean() < 0.7
        positive = scores.argmax(1).float().mean()
        print(f"seed {seed}: {positive:.3f} of the answers are positive")
        assert abs(positive - 0.5) > 0.25
        net.masked = True

# %% [markdown]
# The table agrees with the prediction: most errors of width 3 lie with the reviews that need four words, where the three widths together make almost none.
# The three widths also have three times as many filters; Exercise 16.3-1 tries width 4 alone with as few as width 3 has here.
#
# Without masks, the two scores of the average in the figure draw together as the rows get longer, already by the padding of ordinary batches: 300 tokens of padding leave less than 0.15 of their gap, and the probabilities move towards one half.
# What then happens to the accuracy depends on the seed: the network of the figure keeps most of it, the other two fall below 0.7, with most of their answers in one class.
# As the part that depends on the text shrinks, what remains is the same for every text: the last layer's scores of the numbers $\mathrm{ReLU}(b_c)$; the further their difference is from 0, the more texts end in one class.
# The maximum hardly notices here; nothing guarantees that, and in the untrained network of the check above it moved.
# These networks were trained with masks, so taking the masks off also changes what they were trained on.
# A network trained without masks can adapt to the padding of its own batches, but its average, too, approaches those constants when there is much more padding.
# With masks, the padding plays no part.
#
# ## Which n-grams decided?
#
# The score of class 1 minus that of class 0 is a sum over channels, $\sum_c(v_{1,c}-v_{0,c})z_c$ plus a constant, with $v$ the weights of the last layer, and each $z_c$ comes from one window.
# So every channel names an n-gram and what it added to the decision; one whose $z_c$ is 0 found nothing and adds nothing.
# This is exact; it says what the network used, not whether it was right to.

# %% tags=["export"]
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


# %% tags=["export"]
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

# %%
# check 16.3-C7, the sum: the effects explain the scores
net, vocab = nets["3, 4, 5", 0], data.vocab
text = next(text for text in toy_test.texts if "overall not" in text
            and 15 < len(text.split()) < 25)
print(text)
winners = winning_ngrams(net, vocab, text)
for winner in sorted(winners, key=lambda w: -abs(w.effect))[:4]:
    print(f"{winner.effect:6.2f}  {winner.words}")
net.eval()
for text in toy_test.texts[:20] + ["bad", "not good"]:
    row = torch.tensor([vocab[text.split()]], device=device)
    scores = net((row, torch.tensor([row.shape[1]], device=device)))[0]
    winners = winning_ngrams(net, vocab, text)
    bias = (net.head.bias[1] - net.head.bias[0]).item()
    assert abs(sum(w.effect for w in winners) + bias
               - (scores[1] - scores[0]).item()) < 1e-3
    assert all(text.split()[w.start:w.start + len(w.words.split())]
               == w.words.split() for w in winners)
    for channel, w in enumerate(winners):  # the words alone do the same
        row = torch.tensor([vocab[w.words.split()]], device=device)
        code = net.encode(row, torch.tensor([row.shape[1]], device=device))
        assert abs(code[0, channel].item() - w.value) < 1e-4
assert len(winners) == 48 and winners[0].words == "not good"

# %% tags=["hide-input"]
# check: it refuses what has no winners
for options in ({"pool": "mean"}, {"masked": False}, {"num_classes": 3}):
    assert refuses("needs a TextCNN", winning_ngrams, TextCNN(
        len(vocab), 4, (2,), (5,), **options), vocab, "not good")
assert refuses("holds no token", winning_ngrams, net, vocab, " ")

# %% [markdown]
# Do the winners say what a reader would point at?
# Take the first 150 negative test reviews that the network gets right, and in each the window that pulled hardest towards negative.
# How often does it hold a "not" or a negative adjective, and how often does a window of the same width, drawn from the same review at random?

# %%
# check 16.3-C7: the winning window is no random window
marks = {"not", *ToyReviews.opposites.values()}
share = {}
for seed in range(num_seeds):
    net, pairs = nets["3, 4, 5", seed], []
    chosen = [text for text, label, hit in zip(
        toy_test.texts, toy_test.labels, right["3, 4, 5", seed])
        if hit and not label][:150]
    for text in chosen or toy_test.texts[:9]:
        tokens = text.split()
        best = min(winning_ngrams(net, vocab, text), key=lambda w: w.effect)
        k = len(best.words.split())
        windows = [tokens[i:i + k] for i in range(len(tokens) - k + 1)]
        pairs.append((bool(marks & set(best.words.split())), np.mean(
            [bool(marks & set(window)) for window in windows])))
    share[seed] = np.mean(pairs, axis=0)
    print(f"seed {seed}: winners {share[seed][0]:.2f}, "
          f"random windows {share[seed][1]:.2f}")
    if full_toy:
        assert share[seed][0] > share[seed][1] + 0.35

# %% [markdown]
# In each of the three networks the winner is far more often such a window than a window drawn at random.
# That is a low bar: a window with a "not" may speak for positive, and one from a clause before "overall" decides nothing.
#
# ## Film sentences
#
# Now real sentences.
# We take three of the four networks that Kim compares: with vectors that are pretrained and frozen, pretrained and trained further, or random and trained.
# Our pretrained vectors are those of [Section 16.2](02-sentiment-rnn.ipynb), the input table of MiniLM, reduced to 100 numbers; the random ones have as many.
# A further one starts from the same random vectors divided by ten ("small").
# All start from the same weights in the layers above and see the same batches.
# Beside them stands naive Bayes on words and pairs, trained on the same 2500 sentences.
# It counts every word of these sentences, whereas the networks' tables hold those that occur at least twice: any other word is `<unk>` to them, even where MiniLM's pieces would give it a vector.
# Each seed is another split, with 2000 test sentences; two models are compared by McNemar's test ([Section 4.6](../04-linear-classification/06-generalization-classification.ipynb)) on those that only one of them gets right.
# To fit the time, the network is smaller than Kim's: 32 filters each of the widths 1, 2 and 3, three epochs; the profile `gpu` has his widths and numbers of filters, vectors of 384 numbers, and all sentences that are not held out.
# Here all those sentences serve in one split only, the first, for naive Bayes and one of the networks.

# %%
found = d2l.fetch("sentence-polarity")
texts, labels = read_sentences(found.folder)
real = all(d2l.fetch(name).is_real for name in (
    "sentence-polarity", "minilm", "bert-vocab"))
full_film = (real and (num_train, num_full, film_epochs, num_filters,
                       num_dims, num_seeds) == (2500, 8662, 3, 32, 100, 3))
num_test = 2000 if len(texts) > 6000 else len(texts) // 4
words = {word for text in texts for word in text.split()}
vectors = minilm_vectors([w for w in words if w.isprintable()], num_dims)
print(len(texts), "sentences,", len(vectors), "words with a vector")

# %%
def film_data(seed, size):
    """The first sentences of a split, and whether naive Bayes is right."""
    (train, y), test = split_texts(texts, labels, num_test, seed)
    train, y = train[:size], y[:size]
    X, X_test, _ = bow_features(train, test[0], 2)
    bayes = MultinomialNB().fit(X, y).predict(X_test) == test[1]
    return TextClassificationData((train, y), test, bucketing=True,
                                  min_freq=2), test, bayes


def film_net(film, table, frozen, seed):
    """A trained textCNN whose vectors start as `table`."""
    torch.manual_seed(seed)
    net = TextCNN(len(film.vocab), 0, film_widths,
                  [num_filters] * len(film_widths), vectors=table)
    if not frozen:  # the same numbers, as a table that is trained
        net.trained = nn.Embedding.from_pretrained(table.clone(),
                                                   freeze=False)
        net.frozen = None
    train_text(net, film, film_epochs, lr=2e-3, seed=seed)
    now = (net.frozen if frozen else net.trained.weight).detach().cpu()
    assert torch.equal(now, table) == frozen
    return net

# %%
ok = {}
for seed in range(num_seeds):
    film, test, ok["Bayes", seed] = film_data(seed, num_train)
    pretrained = load_embeddings(film.vocab, vectors)
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(pretrained.shape, generator=generator)
    for name, table, frozen in (("MiniLM, frozen", pretrained, True),
                                ("random, trained", random, False),
                                ("small, trained", random / 10, False),
                                ("MiniLM, trained", pretrained, False)):
        net = film_net(film, table, frozen, seed)
        ok[name, seed] = hits(net, film)
    if seed == 0:  # the last of the four
        kept, kept_vocab, kept_test = net, film.vocab, test
film, _, ok["Bayes", "all"] = film_data(0, num_full)
net = film_net(film, load_embeddings(film.vocab, vectors), False, 0)
ok["MiniLM, trained", "all"] = hits(net, film)

# %%
models = ["Bayes", "MiniLM, frozen", "MiniLM, trained", "random, trained",
          "small, trained"]
accuracy = {key: float(hit.mean()) for key, hit in ok.items()}
for name in models:
    row = [accuracy[name, s] for s in range(num_seeds)]
    more = (f"  all, one split {accuracy[name, 'all']:.3f}"
            if (name, "all") in ok else "")
    print(f"{name:16}", *(f"{a:.3f}" for a in row),
          f"  mean {np.mean(row):.3f}{more}")


def mcnemar(a, b, split):
    """Only a right, only b right, two-sided p-value."""
    n, m = (int((ok[i, split] & ~ok[j, split]).sum())
            for i, j in ((a, b), (b, a)))
    return n, m, binomtest(n, n + m).pvalue if n + m else 1.0


pairs = [("MiniLM, frozen", "random, trained"),
         ("MiniLM, trained", "random, trained"),
         ("MiniLM, trained", "MiniLM, frozen"),
         ("Bayes", "MiniLM, frozen"), ("Bayes", "MiniLM, trained")]
test_of = {pair: [mcnemar(*pair, s) for s in range(num_seeds)]
           for pair in pairs}
test_all = mcnemar(*pairs[-1], "all")
for (a, b), rows in [*test_of.items(), (pairs[-1], [test_all])]:
    print(f"{a} against {b}:",
          "; ".join(f"{n}-{m}, p={p:.2g}" for n, m, p in rows))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
for i, name in enumerate(models):
    for place, split in enumerate([*range(num_seeds), "all"]):
        if (name, split) in ok:
            a, color = accuracy[name, split], f"C{min(i, 1)}"
            ax.errorbar(i + 0.15 * (place - 1), a, fmt="os^o"[place], ms=4,
                        yerr=(a * (1 - a) / num_test) ** 0.5, color=color,
                        mfc=color if split == "all" else "none", lw=1)
ax.set_xticks(range(len(models)), [m.replace(", ", "\n") for m in models])
ax.set(ylabel="test accuracy")
ax.grid(axis="x", visible=False)
d2l.describe(ax, """Test accuracy of naive Bayes and four networks in three
    splits, with standard errors. Naive Bayes and the two networks with
    vectors of MiniLM lie between 0.69 and 0.75, the network with random
    vectors near 0.6, with small random ones a little below 0.7. Filled, with
    all sentences: naive Bayes and the trained MiniLM, close together above
    0.75.""")

# %% [markdown]
# **Figure 16.3.3.** Film sentences: test accuracy with 2500 of them in three splits (three open marks), with the standard error of each; filled, with all that are not held out, in the split of the circles.
#
# In this setting, MiniLM's vectors are ahead of random ones by nearly 0.1 in accuracy, even when they stay frozen and the random ones are trained, and in each split far beyond chance.
# That lead is no fixed worth of pretraining: it depends on the size of the random numbers, here of variance 1, and we have not measured how it changes with more epochs.
# With the random vectors divided by ten, the lead in the mean is less than half as large.
# Training MiniLM's vectors further gains less than 0.02, and only one split tells it from chance.
# Naive Bayes got more sentences right than either network with MiniLM's vectors in every split, by 0.02 to 0.03 in the mean; not every split alone shows it beyond chance.
# With all 8662 sentences, in one split, naive Bayes and the trained network both gain, and McNemar's test does not tell them apart: of the sentences that only one of the two gets right, naive Bayes has a few more.
# So none of these networks has passed counting, and with all sentences the difference is too small for 2000 test sentences to show.
# That is no verdict on textCNN: Kim, with ten-fold cross-validation, vectors of 300 numbers that word2vec learned from 100 billion words, and three times as many filters, reports 0.810 with a frozen, 0.815 with a trained word2vec table, and 0.761 with a random one.
# We have not repeated that.

# %%
# check 16.3-C8: what the vectors are worth, and the baseline
def mean(name):
    return np.mean([accuracy[name, s] for s in range(num_seeds)])


if full_film:
    for own in ("MiniLM, frozen", "MiniLM, trained"):
        assert 0.07 < mean(own) - mean("random, trained") < 0.11
        for n, m, p in test_of[own, "random, trained"]:
            assert n > m and p < 1e-5
        assert 0.01 < mean("Bayes") - mean(own) < 0.045
        rows = test_of["Bayes", own]
        assert all(n > m for n, m, _ in rows)
        assert min(p for *_, p in rows) < 0.05 < max(p for *_, p in rows)
        lead = mean(own) - mean("random, trained")
        assert 0 < mean(own) - mean("small, trained") < lead / 2
    rows = test_of["MiniLM, trained", "MiniLM, frozen"]
    assert 0 < mean("MiniLM, trained") - mean("MiniLM, frozen") < 0.02
    assert sum(p < 0.05 for *_, p in rows) == 1
    for name in pairs[-1]:
        assert accuracy[name, "all"] > accuracy[name, 0] + 0.02
    n, m, p = test_all
    assert 0 < n - m < 60 and p > 0.1

# %% [markdown]
# Whose n-grams are they?
# We colour each word by its share of the effects of the windows that hold it.

# %% tags=["hide-input"]
def word_effects(net, vocab, text):
    """Each winner's effect, shared evenly by its words: (tokens,)."""
    total = np.zeros(len(text.split()))
    for w in winning_ngrams(net, vocab, text):
        k = len(w.words.split())
        total[w.start:w.start + k] += w.effect / k
    return total


short = [t for t in kept_test[0] if 8 <= len(t.split()) <= 14][:3]
shown = [(nets["3, 4, 5", 0], data.vocab, t) for t in
         [t for t in toy_test.texts if 8 <= len(t.split()) <= 15][:3]]
shown += [(kept, kept_vocab, t) for t in short]
fig, ax = plt.subplots(figsize=(7, 2.6))
for line, (net, vocab, text) in enumerate(shown):
    effects, x = word_effects(net, vocab, text), 0
    for token, effect in zip(text.split(), effects / abs(effects).max()):
        ax.text(x, -line, token, fontsize=8, family="monospace", color="k",
                bbox=dict(boxstyle="square,pad=0.15", lw=0,
                          facecolor="C0" if effect > 0 else "C1",
                          alpha=0.75 * abs(effect)))
        x += len(token) + 1.2
ax.set(xlim=(-1, 92), ylim=(-5.6, 0.7))
ax.axis("off")
d2l.describe(ax, """Six texts, each word with a background whose strength is
    its share of the decision. In the three made-up reviews, the words of an
    opinion stand out. In the film sentences boring, basketball and hollow
    are orange, crafted is blue.""")

# %% [markdown]
# **Figure 16.3.4.** What decided: blue towards positive, orange towards negative, the strongest word of each line full. Three made-up test reviews, by widths 3, 4, 5 with the maximum, and three film sentences of the test part, by MiniLM, trained, on 2500 sentences; seed 0 in both.
#
# Sharing an effect evenly among the words of a window is our choice; only the sum over windows is exact.
# In the made-up reviews the strongest colour lies within the clause of an opinion, "was" included.
# In the film sentences, "boring" and "hollow" do what one would hope, but in its line "basketball" outweighs "valueless": the picture shows what the network used, and a reader would use something else.

# %%
# check: the words that the text names
if full_film:
    for text, word in zip(short, ("boring", "basketball", "hollow")):
        pull = word_effects(kept, kept_vocab, text)
        found_at = text.split().index(word)
        assert pull[found_at] < 0 and found_at in abs(pull).argsort()[-2:]

# %% [markdown]
# ## Where convolutions stand
#
# The windows of a text do not wait for each other, where a recurrent network has to wait for the token before; the price is the fixed width.
# Exercise 16.3-2 measures the speed of both, with equally many numbers per text and with equally many multiplications.
# To see more, stack layers, or use dilation ([Section 7.3](../07-convolutional-neural-networks/03-padding-and-stride.ipynb)), which widens a kernel without more weights by leaving gaps between its places (Exercise 16.3-4).
# Jacovi, Sar Shalom and Goldberg (2018) looked into networks such as ours and found that one filter may serve several kinds of n-grams, and that the maximum acts as a threshold that separates important n-grams from the rest.
# Zhang and Wallace (2017) varied the parts of textCNN on nine data sets: the choice of word vectors and the width and number of filters mattered, and they ask authors to report the spread between repetitions.
# Where accuracy counts, a pretrained transformer is today's usual choice.
# How much of its lead is due to the architecture is less clear: Tay and others (2021) found convolutional networks pretrained in the same way competitive on a number of tasks, with caveats, and warn against mistaking progress in pretraining for progress in architecture.
# A small textCNN remains a baseline whose every decision can be traced to its n-grams.

# %% [markdown]
# ## Summary
#
# - A filter of width $k$ over word vectors adds $k$ scores, one for each word and place: a soft n-gram.
# - Max-over-time pooling keeps how strongly it was found, not where; `masked_max` looks only inside the text.
# - In an average over padding, the part that depends on the text shrinks as the batch gets longer.
# - The width limits what one filter can tell apart: most errors of width 3 lay with the reviews that need four words.
# - The difference of the two scores is exactly a constant plus a sum over the winning n-grams.
# - On 2500 film sentences, textCNN did better with pretrained vectors than with random ones, by a lead that depends on the size of the random ones, and still worse than naive Bayes on words and pairs; with all sentences, in one split, the test did not tell naive Bayes and the network apart.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 16.3-1
#
# How well will the widths {4}, {5}, {2, 3} do on the made-up reviews, with max pooling and the training of this section?
# Predict from what each can see, then measure with one seed.

# %% [markdown]
# #### Solution 16.3-1

# %% [markdown]
# Widths 4 and 5 see the last clause with its "overall" whole, so nothing keeps them from solving the task.
# With {2, 3} the deciding four words stay out of sight, so it should end where {3} did.
# The network of the text, {3, 4, 5}, is the line to compare with.

# %%
# solution 16.3-1
for widths in ((4,), (5,), (2, 3)):
    torch.manual_seed(0)
    net = TextCNN(len(data.vocab), 16, widths, [16] * len(widths),
                  dropout=0.2)
    train_text(net, data, toy_epochs, lr=0.01)
    hit = hits(net, data)
    print(widths, f"{hit.mean():.3f}, wrong among those that need four words:",
          f"{1 - hit[kinds == 'overall + 3 words'].mean():.3f}; "
          f"{{3, 4, 5}} {right['3, 4, 5', 0].mean():.3f}")
    if full_toy:
        assert (hit.mean() > 0.97) == (max(widths) > 3)
        assert max(widths) > 3 or hit.mean() < right["3, 4, 5", 0].mean()

# %% [markdown]
# With this one seed the predictions hold: {4} and {5} come close to the network of the text, and {2, 3}, with twice as many filters as {3}, ends within the range of its three runs.

# %% [markdown]
# ### Exercise 16.3-2
#
# Train the bidirectional LSTM of [Section 16.2](02-sentiment-rnn.ipynb) and textCNN on the same batches for equally many epochs, each turning a text into 48 numbers, and compare accuracy and time.
# How many multiplications with weights does each do per token?
# Add a textCNN that does as many as the LSTM.

# %% [markdown]
# #### Solution 16.3-2

# %% [markdown]
# A filter of width $k$ multiplies each of its $kd$ weights once in each window, and there is about one window for each token; an LSTM uses each of its weights once for a token.
# So, up to the ends of the text, the weights of the layer are to be counted.

# %%
# solution 16.3-2
torch.manual_seed(0)
rivals = {"CNN": TextCNN(len(data.vocab), 16, (3, 4, 5), [16] * 3,
                         dropout=0.2),
          "wide CNN": TextCNN(len(data.vocab), 16, (3, 4, 5), [40] * 3,
                              dropout=0.2),
          "LSTM": BiRNN(len(data.vocab), 16, 24)}
work = {name: sum(p.numel() for layer, p in net.named_parameters()
                  if layer.startswith(("convs", "rnn")) and "weight" in layer)
        for name, net in rivals.items()}
rate, score = {}, {}
for name, net in rivals.items():
    train_text(net, data, 0, lr=0.01)  # to the device
    begin = time.perf_counter()
    train_text(net, data, 4, lr=0.01)
    score[name] = hits(net, data).mean()  # waits for the device, too
    rate[name] = 4 * sum(map(len, data.rows["train"])) / (
        time.perf_counter() - begin)
    print(f"{name:8} accuracy {score[name]:.3f}, {work[name]} "
          "multiplications for a token")
assert work["CNN"] == (3 + 4 + 5) * 16 * 16
assert work["LSTM"] == 2 * 4 * 24 * (16 + 24) == work["wide CNN"]
if full_toy:
    assert min(score.values()) > 0.75

# %% tags=["timing"]
fig, ax = plt.subplots(figsize=(5, 1.7), layout="constrained")
ax.barh([*rate], [n / 1000 for n in rate.values()], color=["C0", "C0", "C1"])
ax.invert_yaxis()
ax.set(xlabel="training, thousand tokens per second")
ax.grid(axis="y", visible=False)
d2l.describe(ax, """Three bars, tokens per second in training: textCNN, textCNN
    with as many multiplications as the LSTM, and the LSTM.""")

# %% [markdown]
# All three learn these reviews; which is ahead after so few epochs may depend on seed and learning rate.
# The speeds are those of this machine, for reviews as short as these; what sets the two lower bars apart is not the number of multiplications.

# %% [markdown]
# ### Exercise 16.3-3
#
# Add a positional encoding ([Section 11.6](../11-attention-and-transformers/06-self-attention-and-positions.ipynb)) to the vectors.
# Does it help on the made-up reviews, with width 3, which lacks "what came last"?

# %% [markdown]
# #### Solution 16.3-3

# %%
# solution 16.3-3
class PositionedCNN(TextCNN):
    """TextCNN whose vectors know their place."""

    def __init__(self, vocab_size, embed_size, *args, **kwargs):
        super().__init__(vocab_size, embed_size, *args, **kwargs)
        self.positions = PositionalEncoding(embed_size)

    def embed(self, ids, lengths):
        X = self.positions(super().embed(ids, lengths).mT)  # (b, n, d)
        places = torch.arange(ids.shape[1], device=ids.device)
        return (X * (places < lengths[:, None])[..., None]).mT


torch.manual_seed(0)
net = PositionedCNN(len(data.vocab), 16, (3,), (16,), dropout=0.2)
train_text(net, data, toy_epochs, lr=0.01)
with_places = hits(net, data).mean()
print(f"with positions {with_places:.3f}, "
      "without", *(f"{right['3', s].mean():.3f}" for s in range(num_seeds)))
if full_toy:
    without = [right["3", s].mean() for s in range(num_seeds)]
    assert min(without) - 0.03 < with_places < max(without) + 0.03

# %% [markdown]
# With one seed, the result is no further than 0.03 outside the range of the three seeds without positions, so this run shows no effect beyond their spread.
# What is missing is not where the clause stands, which differs from review to review, but whether "overall" came before it.

# %% [markdown]
# ### Exercise 16.3-4
#
# Which inputs does one output of a kernel of width 3 with dilation 2 depend on?
# And one output of a layer of width 3 followed by that one?
# Write the formula of the receptive field, and check it with gradients.

# %% [markdown]
# #### Solution 16.3-4

# %% [markdown]
# A kernel of width $k$ and dilation $r$ spans $1+(k-1)r$ inputs, and reads $k$ of them; stacked layers add their $(k-1)r$.

# %%
# solution 16.3-4
def seen(*layers):
    """Places on which output 0 of a stack of (width, dilation) depends."""
    X = torch.ones(1, 1, 20, requires_grad=True)
    Y = X
    for k, r in layers:
        Y = F.conv1d(Y, torch.ones(1, 1, k), dilation=r)
    Y[0, 0, 0].backward()
    return X.grad[0, 0].nonzero().flatten().tolist()


print(seen((3, 2)), seen((3, 1), (3, 2)))
assert seen((3, 2)) == [0, 2, 4] and seen((5, 1)) == [0, 1, 2, 3, 4]
assert seen((3, 1), (3, 2)) == [*range(7)]
for layers in (((3, 2),), ((3, 1), (3, 2)), ((2, 1), (2, 2), (2, 4))):
    assert seen(*layers)[-1] + 1 == 1 + sum((k - 1) * r for k, r in layers)

# %% [markdown]
# The dilated layer alone spans five places but skips two of them; behind an ordinary layer it skips none.

# %% [markdown]
# ## Sources
#
# - R. Collobert and others, Natural language processing (almost) from scratch, JMLR 12, 2011, [arXiv:1103.0398](https://arxiv.org/abs/1103.0398): a convolution over word vectors and its maximum over time.
# - Y. Kim, Convolutional neural networks for sentence classification, EMNLP 2014, [arXiv:1408.5882](https://arxiv.org/abs/1408.5882): textCNN, on these sentences.
# - Y. Zhang and B. Wallace, A sensitivity analysis of (and practitioners' guide to) convolutional neural networks for sentence classification, IJCNLP 2017, [arXiv:1510.03820](https://arxiv.org/abs/1510.03820): which parts matter.
# - A. Jacovi, O. Sar Shalom and Y. Goldberg, Understanding convolutional neural networks for text classification, 2018, [arXiv:1809.08037](https://arxiv.org/abs/1809.08037): filters as detectors of n-grams.
# - Y. Tay and others, Are pre-trained convolutions better than pre-trained transformers?, ACL 2021, [arXiv:2105.03322](https://arxiv.org/abs/2105.03322): pretraining and architecture apart.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, 2023, [d2l.ai](https://d2l.ai): two vectors of a token joined into one, and the pooling.
