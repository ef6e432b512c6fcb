# ---
# jupyter:
#   d2l:
#     data: [sentence-polarity, minilm, bert-vocab]
#     profiles:
#       gpu:
#         film_epochs: 4
#         num_gpus: 1
#         num_sentences: 8662
#       smoke:
#         film_epochs: 1
#         long_epochs: 1
#         num_seeds: 2
#         num_sentences: 64
#         num_tested: 64
#         toy_epochs: 1
#         toy_reviews: 64
#     rehearsal:
#       film_epochs: 0.25
#       num_sentences: 0.1
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
# # 16.2 Sentiment analysis: recurrent networks
#
# A recurrent network reads a text token by token and can, in principle, know at the end which opinion came last.
# But a batch of texts is padded, and the end of a row need not be the end of its text.
# This section builds a bidirectional classifier whose summary covers the text and nothing else, measures what a popular shortcut costs and where, and compares the network with counting words.
#
# **You will**
#
# - find out, by gradients, which tokens a state of a bidirectional network has seen;
# - pack texts of different lengths, and verify that padding then changes nothing;
# - separate two suspected faults of a published design by an experiment with two factors and three seeds;
# - classify film sentences with frozen pretrained vectors, and with the same vectors shuffled, beside naive Bayes.
#
# **Cost**: about a minute on a CPU; downloads of about 64 MB, once, if [Section 16.1](01-sentiment-data.ipynb) has not fetched them.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.naive_bayes import MultinomialNB
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (
    Classifier, predict)
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.nlp_applications import (
    TextClassificationData, ToyReviews, bow_features, pad_texts,
    read_sentences, split_texts)
from d2l_helpers.chapters.nlp_pretraining import (
    FreshBatches, TokenEmbedding)
from d2l_helpers.chapters.recurrent_neural_networks import fit_clipped
from d2l_helpers.pretrained import minilm

d2l.use_style()

# %% tags=["parameters"]
num_seeds = 3
num_hiddens = 32  # of each direction
toy_reviews = 1000  # for training
toy_epochs = 3
long_epochs = 6  # of one network that reads padding
num_sentences = 2000  # for training
num_tested = 2000  # sentences
film_epochs = 2
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## What has an end seen?
#
# A bidirectional layer ([Section 10.4](../10-modern-rnns/04-bidirectional-rnn.ipynb)) has two chains of states: $\mathbf{h}_t^{(f)}\in\mathbb{R}^h$ comes from the tokens $1,\dots,t$ and $\mathbf{h}_t^{(b)}\in\mathbb{R}^h$ from the tokens $t,\dots,T$ of a row of $T$.
# The output of step $t$ holds both side by side.
# Which of these vectors should a classifier use, if it wants one vector for a text?
#
# We ask an untrained bidirectional LSTM ([Section 10.1](../10-modern-rnns/01-lstm.ipynb); Graves and Schmidhuber, 2005).
# A row holds 6 tokens and 3 cells of padding, and for each of the four half outputs at the first and at the last step we take the gradient with respect to each of the 9 input vectors.
# Where it is not zero, the state depends on the token; an exact zero, with random weights and inputs, means that no path leads from the one to the other.

# %%
def seen(num_layers, last, h=4, T=9):
    """How each half output of steps 0 and `last` depends on T inputs."""
    torch.manual_seed(0)
    rnn = nn.LSTM(3, h, num_layers, bidirectional=True, batch_first=True)
    X = torch.randn(1, T, 3, requires_grad=True)
    read = X[:, :last + 1]
    outputs, _ = rnn(read)  # (1, last + 1, 2h)
    halves = [half for t in (0, last) for half in outputs[0, t].split(h)]
    rows = [torch.autograd.grad(half.sum(), X, retain_graph=True)[0]
            for half in halves]
    return torch.cat(rows).norm(dim=2)  # (4, T)


masks = {"one layer, padded": seen(1, 8), "two layers, padded": seen(2, 8),
         "one layer, text alone": seen(1, 5)}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 1.9), sharey=True,
                         layout="constrained")
for ax, (title, influence) in zip(axes, masks.items()):
    ax.imshow(influence != 0, aspect="auto", cmap="Blues", vmin=0, vmax=1.4)
    ax.axvline(5.5, color="#D55E00", lw=2)
    ax.set(title=title, xticks=range(9), xlabel="step",
           xticklabels=[*"123456", *"ppp"])
    ax.grid(False)
axes[0].set_yticks(range(4), [f"{side}, {end}" for end in ("first", "last")
                              for side in ("forward", "backward")])
d2l.describe(fig, """Three tables of four half outputs by nine steps, six
    tokens and three cells of padding, dark where the gradient is not zero.
    One layer, padded: forward at the first step sees step 1 only, backward
    there sees all nine, forward at the last step all nine, backward there
    only the last cell of padding. Two layers: all dark. Text alone: forward
    at the first step sees step 1, backward at the last step sees step 6, the
    two others see the six tokens, none sees padding.""")

# %% [markdown]
# **Figure 16.2.1.** Which of six tokens and three cells of padding (p) the half outputs at the first and at the last step depend on (dark). On the right only the six tokens were read, and the last step is the sixth.

# %%
# check 16.2-C3: what each half has seen, exactly
one, two, alone = (influence != 0 for influence in masks.values())
assert one[0].nonzero().flatten().tolist() == [0]
assert one[3].nonzero().flatten().tolist() == [8]
assert one[1:3].all() and two.all()
assert alone[1:3, :6].all() and not alone[:, 6:].any()
assert alone[0].nonzero().flatten().tolist() == [0]
assert alone[3].nonzero().flatten().tolist() == [5]

# %% [markdown]
# Two of the four halves have read the whole row: the backward state of the first step and the forward state of the last.
# The two others have read a single cell, and at the last step of a padded row that cell is padding.
# In a padded row, moreover, the forward state runs on over the padding after the last token, and the backward state begins there.
# With two layers every half depends on all cells: the upper forward chain at step 1 receives the lower layer's output, whose backward half has read everything.
# But of the other tokens it sees only that one vector, the lower layer's summary.
#
# *Dive into Deep Learning* (Zhang and others, 2023) takes exactly these four halves of the padded batch, from two layers of an LSTM, as the encoding of a review.
# So that design has two questionable parts: the choice of the states, and the padding that they read.
#
# ## Packing
#
# Texts of different lengths need not be padded for a recurrent layer.
# Sort them by length, the longest first.
# Then at each step only the first few are still running: texts of 5, 3 and 2 tokens need 3, 3, 2, 1 and 1 states, together 10 instead of 15.
# A *packed sequence* stores the 10 input vectors in this order, step by step, with the five numbers.
# The backward chain starts each text at its own last token.
# Two helpers wrap PyTorch's functions, one into this form and one back.

# %% tags=["export"]
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

# %%
ragged = torch.tensor([2, 5, 3])  # any order: PyTorch sorts
X = torch.arange(15.0).reshape(3, 5, 1)  # text 0: 0, 1; text 1: 5, ..., 9
packed = pack(X, ragged)
print(packed.batch_sizes.tolist(), packed.data.flatten().tolist())

# check: back again, and what is refused
assert packed.batch_sizes.tolist() == [3, 3, 2, 1, 1]
assert packed.data.flatten().tolist() == [5, 10, 0, 6, 11, 1, 7, 12, 8, 9]
inside = (torch.arange(5) < ragged[:, None])[:, :, None]
assert (unpack(packed, 5) == X.where(inside, 0)).all()
assert unpack(packed, 7, value=-1.0)[0].flatten().tolist() == [
    0, 1, -1, -1, -1, -1, -1]
for lengths in ([2, 6, 3], [0, 5, 3], [5, 3]):
    try:
        pack(X, torch.tensor(lengths))
        raise AssertionError(f"lengths {lengths} were accepted")
    except ValueError as error:
        assert str(lengths) in str(error)
try:
    unpack(packed, 4)
    raise AssertionError("a text of 5 steps fits into 4")
except ValueError:
    pass

# %% [markdown]
# ## A classifier with a choice
#
# Let $\ell\le T$ be the number of tokens of a text.
# The two encodings that we compare are
#
# $$\mathbf{e}_{\text{final}}=[\mathbf{h}_{\ell}^{(f)},\mathbf{h}_1^{(b)}]\in\mathbb{R}^{2h},\qquad\mathbf{e}_{\text{ends}}=[\mathbf{h}_1^{(f)},\mathbf{h}_1^{(b)},\mathbf{h}_{\ell}^{(f)},\mathbf{h}_{\ell}^{(b)}]\in\mathbb{R}^{4h},\tag{16.2.1}$$
#
# and a linear layer turns either into two scores, $\hat{\mathbf{y}}=\mathbf{W}\mathbf{e}+\mathbf{b}$ with $\mathbf{W}\in\mathbb{R}^{2\times2h}$ or $\mathbb{R}^{2\times4h}$ and $\mathbf{b}\in\mathbb{R}^2$.
# Read without packing, $\ell$ is $T$ in both, whatever the text.
# The ends contain the final states; what they add are the two states that have seen a single cell.
# With $h=32$ the encodings have 64 and 128 numbers.
#
# Other encodings pool the outputs of all steps: their mean, or their maximum in each component, taken over the real tokens only.
# The class offers all four, packed or not; with two or more layers, it can drop numbers at random between them ([Section 5.6](../05-multilayer-perceptrons/06-dropout.ipynb)).

# %% tags=["export"]
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

# %% tags=["export"]
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

# %%
def padded_batch(rows, T, pad=0, left=False):
    """Rows as a batch (ids, lengths) of T columns, filled up with `pad`."""
    ids = torch.full((len(rows), T), pad)
    for i, row in enumerate(rows):
        start = T - len(row) if left else 0
        ids[i, start:start + len(row)] = row
    return ids, torch.tensor([len(row) for row in rows])


generator = torch.Generator().manual_seed(1)
rows = [torch.randint(1, 20, (n,), generator=generator) for n in (7, 1, 4)]
drift = {}
for pooling in BiRNN.poolings:
    for packed in (True, False):
        torch.manual_seed(0)
        net = BiRNN(20, 5, 6, num_layers=2, pooling=pooling, packed=packed)
        with torch.no_grad():
            short, wide = (net(padded_batch(rows, T)) for T in (7, 19))
        drift[pooling, packed] = float((short - wide).abs().max())
        print(f"{pooling:5} packed {packed!s:5}: scores change by "
              f"{drift[pooling, packed]:.1e}")

# %%
# check 16.2-C1: sizes of the encodings
for pooling, size in zip(BiRNN.poolings, (12, 24, 12, 12)):
    net = BiRNN(20, 5, 6, pooling=pooling)
    assert net.encode(torch.zeros(3, 7, 5), torch.tensor([7, 1, 4])
                      ).shape == (3, size) == (3, net.output_layer.in_features)
    assert net(padded_batch(rows, 7)).shape == (3, 2)
outputs, H = BiRNN(20, 5, 6, 3).states(torch.randn(3, 7, 5),
                                       torch.tensor([7, 1, 4]))
assert outputs.shape == (3, 7, 12) and H.shape == (6, 3, 6)
assert (outputs[1, 1:] == 0).all() and (outputs[2, :4] != 0).all()
assert (outputs[2, 4:] == 0).all()

# check: dropout acts in training, between layers
for layers, random in ((2, True), (1, False)):
    net = BiRNN(20, 5, 6, layers, dropout=0.5)
    codes = [net.train(mode)(padded_batch(rows, 7))
             for mode in (True, True, False, False)]
    assert torch.equal(codes[0], codes[1]) != random
    assert torch.equal(codes[2], codes[3])

# check 16.2-C2: packed, the amount of padding changes nothing
assert all(drift[pooling, True] < 1e-6 for pooling in BiRNN.poolings)
assert all(drift[pooling, False] > 1e-4 for pooling in BiRNN.poolings)

# %%
# check 16.2-C4: the packed states are those of each text read alone
lengths = torch.tensor([7, 1, 4])
for layers in (1, 2):
    for pooling in BiRNN.poolings:
        net = BiRNN(20, 5, 6, layers, pooling)
        embs = net.embedding(padded_batch(rows, 9)[0])
        for row, code in zip(rows, net.encode(embs, lengths)):
            outputs, (H, _) = net.rnn(net.embedding(row))  # (T, 12), (2L, 6)
            alone = {"final": torch.cat((H[-2], H[-1])),
                     "ends": torch.cat((outputs[0], outputs[-1])),
                     "mean": outputs.mean(0), "max": outputs.amax(0)}[pooling]
            torch.testing.assert_close(alone, code)
            ends = torch.cat((outputs[-1, :6], outputs[0, 6:]))
            assert pooling != "final" or torch.allclose(ends, code)

# check: not packed, the whole row is the text
for pooling in BiRNN.poolings:
    net = BiRNN(20, 5, 6, 1, pooling, packed=False)
    embs = net.embedding(padded_batch(rows, 9)[0])
    code = net.encode(embs, lengths)
    net.packed = True
    torch.testing.assert_close(
        net.encode(embs, torch.full_like(lengths, 9)), code)

# %% [markdown]
# Packed, twelve more columns of padding change the scores by no more than rounding.
# Without packing they change all four: where a batch is filled up to its longest text, the score of a text then depends on its neighbours.
#
# ## Two faults apart
#
# `ToyReviews` of [Section 16.1](01-sentiment-data.ipynb) are made for this question: single words say nothing, and in half of the reviews only the last clause counts.
# We cross both factors, the choice of states and the padding, and give each of the four cells the same batches for the same three epochs, with the same three seeds.
# A batch holds texts of similar length and is filled up to a fixed number of columns, 50 here and 500 for the reviews of *Dive into Deep Learning*; the networks that pack skip what is filled in.
# A fifth cell reads the same padding at another place, before the text.
# One layer suffices; the embedding is trained, that of `<pad>` too where it is read, and gradients are clipped to norm 1 ([Section 9.5](../09-recurrent-neural-networks/05-rnn-scratch.ipynb)).

# %%
class FilledData(TextClassificationData):
    """Batches of similar lengths, all filled up to `num_steps` columns.

    Where `left` is set, the padding stands before the text.
    """

    left = False

    def fill(self, batch):
        (ids, lengths), labels = batch
        ids = F.pad(ids, (0, self.num_steps - ids.shape[1]),
                    value=self.vocab["<pad>"])
        if self.left:
            ids = torch.stack([row.roll(-n) for row, n in zip(
                ids, lengths.tolist())])
        return (ids, lengths), labels

    def get_dataloader(self, train):
        if train:
            make = super().get_dataloader
            return FreshBatches(lambda: [*map(self.fill, make(True))])
        pairs = list(zip(self.rows["test"], self.labels["test"]))
        return [self.fill(pad_texts(pairs[i:i + 500], self.vocab["<pad>"]))
                for i in range(0, len(pairs), 500)]


class LeftData(FilledData):
    left = True

# %%
toy, toy_test = ToyReviews(toy_reviews, 0), ToyReviews(256, 1)
toy_data, left_data = (
    kind((toy.texts, toy.labels), (toy_test.texts, toy_test.labels),
         batch_size=32, num_steps=50, bucketing=True)
    for kind in (FilledData, LeftData))
vocab = toy_data.vocab


def padding_share(data):
    """Share of the cells of an epoch's batches that hold padding."""
    real, cells = map(sum, zip(*(
        (int(lengths.sum()), ids.numel())
        for (ids, lengths), _ in data.train_dataloader())))
    return 1 - real / cells


print(f"{padding_share(toy_data):.0%} of the cells are padding")

# check: the text is whole, on either side; an epoch is one order of all
pad = vocab["<pad>"]
for data in (toy_data, left_data):
    (ids, lengths), _ = data.val_dataloader()[0]
    side = slice(-int(lengths[0]), None) if data.left else slice(lengths[0])
    assert ids[0, side].tolist() == vocab[toy_test.texts[0].split()]
    assert ((ids != pad).sum(1) == lengths).all() and ids.shape[1] == 50
    loader = data.train_dataloader()
    first, second = (torch.cat([ids for (ids, _), _ in loader])
                     for _ in range(2))
    assert len(first) == len(second) == toy_reviews
    assert not torch.equal(first, second)

# %%
def toy_net(kind, pooling, data, packed, seed, epochs):
    """A trained network of class `kind` and its test accuracies by epoch."""
    torch.manual_seed(seed)
    net = kind(len(vocab), 32, num_hiddens, 1, pooling, packed)
    history = fit_clipped(net, data, epochs, seed=seed, num_gpus=num_gpus)
    return net, history["val_acc"]


nets, curves = {}, {}
for pooling, reading in (("final", "packed"), ("final", "right"), (
        "ends", "packed"), ("ends", "right"), ("final", "left")):
    for seed in range(num_seeds):
        more = (pooling, reading, seed) == ("ends", "right", 0)
        cell = pooling, reading, seed
        nets[cell], curves[cell] = toy_net(
            BiRNN, pooling, left_data if reading == "left" else toy_data,
            reading == "packed", seed, long_epochs if more else toy_epochs)
    print(f"{pooling:5}, padding {reading:6}: ".replace(
        "padding packed", "packed        ") + "  ".join(
        f"{curves[pooling, reading, seed][toy_epochs - 1]:.3f}"
        for seed in range(num_seeds)))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7, 2.5), sharex=True, sharey=True,
                         layout="constrained")
looks = {"packed": ("#0072B2", "o", "packed"),
         "right": ("#D55E00", "s", "padding read, right"),
         "left": ("#009E73", "^", "padding read, left")}
for (pooling, reading, seed), curve in curves.items():
    color, marker, label = looks[reading]
    axes[int(pooling == "ends")].plot(
        range(1, len(curve) + 1), curve, color=color, marker=marker, ms=4,
        mfc="none", lw=1, label=label if seed == 0 else None)
for ax, pooling in zip(axes, ("final", "ends")):
    ax.axhline(0.5, color="k", lw=0.8, ls=":")
    ax.set(title=pooling, xlabel="epoch")
axes[0].set_ylabel("test accuracy")
axes[0].legend(loc="center right")
d2l.describe(fig, """Two plots of test accuracy by epoch, for the final states
    and for the ends, three seeds each. Packed, all curves rise
    to nearly 1 within three epochs, and so do those with padding on the
    left. With padding on the right they stay near one half for three epochs;
    one of the ends, whose training goes on, then rises to nearly 1.""")

# %% [markdown]
# **Figure 16.2.2.** Test accuracy on 256 toy reviews, three seeds for each cell; one network of the ends that reads padding was trained on.

# %%
# check 16.2-C5: padding after the text hurts here, the extra states do not
toy_run = (toy_reviews, toy_epochs, num_hiddens) == (1000, 3, 32)
at_end = {(pooling, reading): np.array([
    curves[pooling, reading, seed][toy_epochs - 1]
    for seed in range(num_seeds)]) for pooling, reading, _ in curves}
if toy_run:
    for pooling in ("final", "ends"):
        assert at_end[pooling, "packed"].min() > 0.93
        assert at_end[pooling, "right"].max() < 0.65
    assert at_end["final", "left"].min() > 0.9
    assert curves["ends", "right", 0][-1] > 0.9 or long_epochs < 6

# %% [markdown]
# After three epochs the packed networks get nearly every test review right, with either encoding, and those that read padding on the right are near chance, with either encoding.
# So the two superfluous states do no harm that shows here, and the padding does.
#
# But it is not the reading of padding as such.
# Put before the text, just as much padding is read, and those networks learn about as fast as the packed ones.
# On the right, padding lies between the last opinion, which tells the label of each of these reviews, and the forward state that is used; on the left it lies before the text, and the forward chain ends where the text does.
#
# Nor does padding on the right put the task out of reach: one network of the ends that reads it, trained for six epochs instead of three, is right nearly as often as the packed ones.
# Whether its forward chain then carries the last opinion across the padding, or its backward chain carries it across the text, this run does not tell.
#
# ## Does it understand "not"?
#
# The two texts of a *minimal pair* differ in one place, which decides.
# We take new reviews in which the last opinion alone determines the label, insert a "not" into it, and ask the first packed network for the probability that a review is positive.

# %% tags=["export"]
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

# %%
def negated(text):
    """The text with "not" in its last opinion, or None if it has one."""
    tokens = text.split()
    start = max((i for i, token in enumerate(tokens)
                 if token in ("was", "overall")), default=None)
    decides = "overall" in tokens or tokens.count("was") == 1
    if not decides or tokens[start + 1] == "not":
        return None
    return " ".join([*tokens[:start + 1], "not", *tokens[start + 1:]])


fresh = ToyReviews(400, seed=2)
pairs = [(text, other, label) for text, label in zip(
    fresh.texts, fresh.labels) if (other := negated(text))][:100]
net = nets["final", "packed", 0]
before, after = (predict_sentiment(net, vocab, list(texts)) > 0.5
                 for texts in list(zip(*pairs))[:2])
flips = (before != after).float().mean().item()
print(f"{pairs[0][0]}\n{pairs[0][1]}\n{flips:.0%} of {len(pairs)} flip")

# %%
# check 16.2-C7: "not" flips the label of toy reviews
labels = torch.tensor([label for *_, label in pairs], dtype=torch.bool)
assert len(pairs) == 100 and 35 < labels.sum() < 65
for text, other, _ in pairs:
    old, new = text.split(), other.split()
    at = [a == b for a, b in zip(old, new)].index(False)
    assert new[:at] + new[at + 1:] == old and new[at] == "not"
    assert new[at - 1] in ("was", "overall") and "was" not in new[at:]
if toy_run:
    assert flips >= 0.95
    assert ((before == labels) & (after != labels)).float().mean() >= 0.95
    assert (after[labels] == 0).float().mean() >= 0.9
    assert (after[~labels] == 1).float().mean() >= 0.9

# %%
# check 16.2-C6: predictions leave the mode, and hang on no batch
texts = toy_test.texts[:130]
for training in (True, False):
    net.train(training)
    p, q = (predict_sentiment(net, vocab, texts, size) for size in (1, 64))
    assert net.training == training and not p.requires_grad
    torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-5)
    single = predict_sentiment(net, vocab, texts[3])
    assert isinstance(single, float) and abs(single - float(p[3])) < 1e-5
    assert p.shape == (130,) and 0 <= p.min() <= p.max() <= 1
scores, truth = predict(net, toy_data.val_dataloader())
torch.testing.assert_close(predict_sentiment(net, vocab, toy_test.texts),
                           scores.softmax(1)[:, 1], atol=1e-5, rtol=1e-5)
net = nets["ends", "right", 0].cpu()  # reads padding, so its index matters
texts = ["the plot was good .", "the plot was not really good ."]
with torch.no_grad():
    batch = padded_batch([torch.tensor(vocab[text.split()])
                          for text in texts], 7, vocab["<pad>"])
    scores = net(batch)
torch.testing.assert_close(predict_sentiment(net, vocab, texts),
                           scores.softmax(1)[:, 1])
for wrong in ([], ["good film", " "]):
    try:
        predict_sentiment(net, vocab, wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        assert "without a token" in str(error)

# %% [markdown]
# All or nearly all pairs flip, those from positive to negative as well as the others.
#
# ## Film sentences with pretrained vectors
#
# Real sentences have many words, and a small training set shows few of them often.
# So the network should start from vectors that were learned elsewhere.
# We take the input vectors of MiniLM ([Section 15.7](../15-nlp-pretraining/07-similarity-analogy.ipynb)), 384 numbers for each piece of its vocabulary, and keep 100 principal components.
# A word of several pieces gets the mean of their vectors: without that, "tedious", "pretentious" and "isn't" would have none.
# A table of words such as GloVe's has no pieces, and there a word that is missing gets zeros.

# %% tags=["export"]
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


# %% tags=["export"]
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

# %%
found = {name: d2l.fetch(name) for name in ("sentence-polarity", "minilm",
                                            "bert-vocab")}
films = read_sentences(found["sentence-polarity"].folder)
(train, y), (test, y_test) = split_texts(
    *films, min(2000, len(films[0]) // 4))
train, y = train[:num_sentences], y[:num_sentences]
test, y_test = test[:num_tested], np.array(y_test[:num_tested])
film_data = FilledData((train, y), (test, y_test.tolist()), num_steps=50,
                       bucketing=True)
test_batches = film_data.val_dataloader()
film_data.val_dataloader = lambda: None  # no test while we train
words = film_data.vocab
film_run = (all(one.is_real for one in found.values())
            and (num_sentences, num_tested, film_epochs, num_hiddens)
            == (2000, 2000, 2, 32))
vectors = {"MiniLM": load_embeddings(words, minilm_vectors(
    words.idx_to_token))}  # (V, 100)
table = vectors["MiniLM"]
known = table.any(dim=1).nonzero().flatten()  # rows that are not zero
order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))
vectors["shuffled"] = table.clone()
vectors["shuffled"][known] = table[known[order]]
print(f"{tuple(table.shape)}, mean square {table.square().mean():.2f}; "
      f"{len(table) - len(known)} rows are zero; "
      f"{padding_share(film_data):.0%} of the cells are padding")

# %%
# check: the table is in the order of the vocabulary; what is missing is 0
some = TokenEmbedding((["film", "zzz", "<pad>"], torch.ones(3, 3)))
table = load_embeddings(words, some)
assert table.shape == (len(words), 3)
assert table.abs().sum(1).nonzero().flatten().tolist() == [words["film"]]
encoder = minilm()
pieces, table = encoder.tokenize, encoder.words.weight.detach()
zero = (vectors["MiniLM"] == 0).all(dim=1).nonzero().flatten().tolist()
bare = [word for word in words.idx_to_token if not pieces(word)[1:-1]]
assert {words["<pad>"], words["<unk>"]} <= set(zero)
assert set(words.to_tokens(zero)) == {"<pad>", "<unk>", *bare}
assert len(bare) <= 3 and vectors["MiniLM"].isfinite().all()
pair = ["film", "tedious"]
full = minilm_vectors(pair, 384)  # all axes: a rotation
table = table - table.mean(dim=0)
ids = [pieces(word)[1:-1] for word in pair]
assert len(ids[1]) > 1 or not found["bert-vocab"].is_real
given = torch.stack([table[i].mean(0) for i in ids])
size = table.square().mean().sqrt()
given, turned = given / size, full[pair]
torch.testing.assert_close(turned @ turned.mT, given @ given.mT,
                           atol=1e-2, rtol=1e-4)
same = vectors["shuffled"].sort(dim=0).values  # in each column
assert torch.equal(same, vectors["MiniLM"].sort(dim=0).values)
kept = (vectors["shuffled"] == vectors["MiniLM"]).all(dim=1)
assert len(zero) <= kept.sum() < len(zero) + 0.02 * len(words) + 3
spread = vectors["MiniLM"].var(dim=0)  # the largest first
assert spread[:20].mean() > 1.2 * spread[-20:].mean() or not film_run
first, all_axes = vectors["MiniLM"][words["film"]], full["film"]
torch.testing.assert_close(first / first[0], all_axes[:100] / all_axes[0],
                           atol=1e-3, rtol=1e-3)  # the leading components
for wrong in (lambda: load_embeddings(words, TokenEmbedding(
        (["ZZZ"], torch.ones(1, 3)))), lambda: minilm_vectors(["a"], 385)):
    try:
        wrong()
        raise AssertionError("accepted")
    except ValueError:
        pass

# %% [markdown]
# A control should change one thing only: which word has which vector.
# So the second table holds the same rows, shuffled; `<pad>`, `<unk>` and what else is zero stay where they are.
# Both hold only words of the training sentences: any other word of a test sentence is `<unk>` here, although MiniLM's pieces would give it a vector; naive Bayes ignores such words, too.
# Both tables stay frozen: with either, the network trains its LSTM and its linear layer, on the same 2000 sentences in the same batches, for two epochs.
# With MiniLM's vectors we also train the version that reads the padding, in the same batches, filled up to 50 columns.
# Naive Bayes on words and pairs, the best of the counts of [Section 16.1](01-sentiment-data.ipynb) on these sentences, gets the same 2000.

# %%
def film_net(table, packed, seed):
    """A network on frozen vectors, and which test sentences it gets right."""
    torch.manual_seed(seed)
    net = BiRNN(*table.shape, num_hiddens, packed=packed, lr=0.005)
    net.embedding = nn.Embedding.from_pretrained(table.clone())
    fit_clipped(net, film_data, film_epochs, seed=seed, num_gpus=num_gpus)
    scores, truth = predict(net, test_batches)
    return net, (scores.argmax(dim=1) == truth).numpy()


film_nets, right = {}, {}
for kind, packed in (("MiniLM", True), ("shuffled", True), (
        "MiniLM", False)):
    for seed in range(num_seeds):
        film_nets[kind, packed, seed], right[kind, packed, seed] = film_net(
            vectors[kind], packed, seed)
X, X_test, _ = bow_features(train, test, 2)
bayes = MultinomialNB().fit(X, y).predict(X_test) == y_test
error = (bayes.mean() * (1 - bayes.mean()) / len(test)) ** 0.5
rows = {("MiniLM", True): "LSTM, MiniLM", ("MiniLM", False):
        "LSTM, MiniLM, padding read", ("shuffled", True): "LSTM, shuffled"}
print(f"{'naive Bayes, words and pairs':28} {bayes.mean():.3f}, "
      f"standard error {error:.3f}")
for key, name in rows.items():
    print(f"{name:28} " + "  ".join(f"{right[*key, seed].mean():.3f}"
                                    for seed in range(num_seeds)))

# %%
def mcnemar(a, b):
    """Items that only a, or only b, gets right, and the p-value."""
    only = int((a & ~b).sum()), int((b & ~a).sum())
    return *only, binomtest(only[0], max(sum(only), 1)).pvalue


p_values = {"naive Bayes": [], "padding read": []}
for seed in range(num_seeds):
    for name, other in (("naive Bayes", bayes),
                        ("padding read", right["MiniLM", False, seed])):
        a, b, p = mcnemar(right["MiniLM", True, seed], other)
        p_values[name].append(p)
        print(f"seed {seed}: only MiniLM packed {a}, only {name} {b}, "
              f"p = {p:.2g}")

# check 16.2-C6: frozen vectors do not move
for (kind, packed, seed), net in film_nets.items():
    assert torch.equal(net.embedding.weight.cpu(), vectors[kind])
    assert net.embedding.weight.grad is None
    assert not net.embedding.weight.requires_grad
    assert net.output_layer.weight.grad is not None
    group, = net.configure_optimizers().param_groups
    assert all(p.requires_grad for p in group["params"])
    assert len(group["params"]) == 10 and group["lr"] == net.lr == 0.005

# check 16.2-C8: what pretrained vectors are worth here
mean = {key: np.mean([right[*key, seed].mean() for seed in range(num_seeds)])
        for key in rows}
if film_run:
    gain = mean["MiniLM", True] - mean["shuffled", True]
    assert gain > max(0.1, 3 * 2 ** 0.5 * error)
    assert mean["shuffled", True] < 0.62
    assert -0.05 < mean["MiniLM", True] - bayes.mean() < 0.005
    assert mean["MiniLM", True] > mean["MiniLM", False]
    assert np.median(p_values["naive Bayes"]) > 0.05
    assert min(p_values["padding read"]) < 0.01
    assert np.median(p_values["padding read"]) > 0.05
    assert padding_share(film_data) > padding_share(toy_data) + 0.03

# %% [markdown]
# At this budget it is worth more than ten points that each word has its own vector: with the shuffled table the same network is right on fewer than 62 % of the sentences.
# With MiniLM's table it is still not ahead of naive Bayes, which knows nothing but the 2000 sentences: in the mean over three seeds the network is a little behind, and McNemar's test ([Section 4.6](../04-linear-classification/06-generalization-classification.ipynb)) does not separate the two at the level 0.05 in most of these runs.
# So after two epochs this LSTM on pretrained vectors is level with counting, or slightly behind.
#
# The version that reads padding is behind in the mean of the three seeds, clearly in one of them ($p<0.01$) and in most of them not beyond chance.
# That is far less than on the toy reviews, although more of the cells are padding.
# But the end of a film sentence need not decide, and three runs of two epochs do not tell how much padding costs on real sentences, nor whether longer training would close the gap.
#
# What does "not" do to these networks?
# We insert it after the first "is" of test sentences that have no "not", and as a control the word "also" in the same place, and count what flips, by the prediction before.

# %%
cut = [tokens for text in test if "is" in (tokens := text.split())
       and "not" not in tokens][:300]
cut = cut or [["it", "is", text] for text in test[:20]]  # in stand-ins


def insert(word):
    return [" ".join([*tokens[:at], word, *tokens[at:]]) for tokens in cut
            for at in [tokens.index("is") + 1]]


flipped, moved = {}, {}
for seed in range(num_seeds):
    net = film_nets["MiniLM", True, seed]
    before = predict_sentiment(net, words, [" ".join(t) for t in cut])
    for word in ("not", "also"):
        after = predict_sentiment(net, words, insert(word))
        for name, side in (("positive", before > 0.5),
                           ("negative", before <= 0.5)):
            flips = ((after > 0.5) != (before > 0.5))[side]
            key = word, name, seed
            flipped[key] = flips.sum().item() / max(len(flips), 1)
            moved[key] = (after.logit() - before.logit())[side].mean().item()
            print(f"seed {seed}, {word:4}: {flips.sum():2} of {len(flips)} "
                  f"{name} ones flip, log-odds {moved[key]:+.2f}")

# %%
# check: the flips go one way only
if film_run:
    for seed in range(num_seeds):
        assert 0.18 < flipped["not", "positive", seed] < 0.36
        assert flipped["not", "negative", seed] < 0.02
        assert flipped["also", "positive", seed] < 0.02
        for name in ("positive", "negative"):
            assert moved["not", name, seed] < -0.1
            assert 0 < moved["also", name, seed] < 0.4

# %% [markdown]
# With "not", about a quarter of the positive predictions turn negative, but of the negative ones none or hardly any turns positive, and in the mean the log-odds, $\log\frac{p}{1-p}$, fall on both sides.
# A "not" that was understood would raise the log-odds of many negative sentences, though not of all, since the clause with the first "is" need not hold the opinion: in these three networks "not" works, on average, like a word with a negative weight, and "also" like one with a small positive weight.
# The toy network had to learn to negate, since single words say nothing there.
# The rate of flips over all sentences would not have told the two apart; one needs the direction.
#
# ## Where does it look?
#
# The first derivative of a score with respect to an input vector says how strongly the score reacts to a small change of that vector.
# Its norm, one number for each token, is a simple *saliency*; Simonyan and others (2013) took the absolute value of such derivatives for the pixels of images, the largest over the colour channels, and Li and others (2016) computed such derivatives for word vectors.
# We take the difference of the two scores and compare the toy network with that on MiniLM's vectors, each on a sentence of its own kind.

# %%
def saliency(net, vocab, text):
    """Norm (T,) of the gradient of score 1 minus score 0, by token."""
    device = net.output_layer.weight.device
    ids = torch.tensor([vocab[text.split()]], device=device)
    embs = net.embedding(ids).detach().requires_grad_()
    length = torch.tensor([ids.shape[1]], device=device)
    with torch.backends.cudnn.flags(enabled=False):  # it refuses eval mode
        no, yes = net.output_layer(net.encode(embs, length))[0]
        grad, = torch.autograd.grad(yes - no, embs)
    return grad[0].norm(dim=1).cpu()


toy_text = next(text for text in fresh.texts if "overall not" in text
                and 18 < len(text.split()) < 24)
film_text = next(text for text, hit in zip(
    test, right["MiniLM", True, 0]) if hit and "not" in text.split()
    and 8 < len(text.split()) < 20) if film_run else test[0]
shown = [(nets["final", "packed", 0], vocab, toy_text),
         (film_nets["MiniLM", True, 0], words, film_text)]
reacts = [saliency(*one) for one in shown]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7, 4.2), layout="constrained")
for ax, values, (*_, text) in zip(axes, reacts, shown):
    tokens = text.split()
    ax.barh(range(len(tokens)), values, color="#0072B2")
    ax.set_yticks(range(len(tokens)), tokens, fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="norm of the gradient")
axes[0].set_title("toy review")
axes[1].set_title("film sentence")
d2l.describe(fig, """Two bar charts, a bar for each token of a text. In the toy
    review the longest bars belong to tokens of the last clause. In the film
    sentence the bars differ less.""")

# %% [markdown]
# **Figure 16.2.3.** How strongly the difference of the scores reacts to a small change of each token's vector, in a toy review and in a film sentence, one network each.

# %%
# check: the norm, by difference quotients; no side effect; the last clause
net = nets["final", "packed", 0]
ids = torch.tensor([vocab[toy_text.split()]])
net.cpu().eval()
net.zero_grad()
leading = saliency(net, vocab, toy_text)
assert not net.training
assert all(p.grad is None for p in net.parameters())
embs, n = net.embedding(ids).detach(), torch.tensor([ids.shape[1]])


def gap(change):
    """Score 1 minus score 0 with `change` (d,) added to the last vector."""
    moved = embs.clone()
    moved[0, -1] += change
    with torch.no_grad():
        no, yes = net.output_layer(net.encode(moved, n))[0]
    return (yes - no).item()


slopes = torch.tensor([(gap(0.01 * e) - gap(-0.01 * e)) / 0.02
                       for e in torch.eye(embs.shape[2])])
torch.testing.assert_close(slopes.norm(), leading[-1], rtol=0.01, atol=1e-3)
assert leading.shape == (len(toy_text.split()),)
if toy_run:
    assert leading[-2:].min() > 2 * leading[:-2].max()  # adjective, stop

# %% [markdown]
# In the toy review the largest derivatives lie in the last clause, where the adjective and the full stop stand out.
# "not" has a much shorter bar, although inserting it flips the label: a derivative tells what a *small* change of a vector does, and a word is no small change.
# In the film sentence the bars are more even.
#
# ## Where the field stands
#
# Dai and Le (2015) pretrained LSTMs on unlabelled text before training them for sentiment; the best error that they report on these film sentences, with unlabelled reviews from Amazon, is 16.7 %.
# Then whole pretrained transformers took over: BERT's authors report 94.9 % on SST-2 (Devlin and others, 2018), for which people labelled sentences of this collection anew, and their phrases too (Socher and others, 2013), so the two numbers are not of one test.
# Today a recurrent classifier on frozen word vectors is a baseline and a lesson in state and masks; the same questions, which positions are real and what has a summary seen, come back with every padded batch of a transformer.

# %% [markdown]
# ## Summary
#
# - In one bidirectional layer, only two of the four half outputs at the ends of a row have read the whole row.
# - Packing reads each text alone: the scores do not depend on padding, and the final states are those of the text.
# - On toy reviews, after three epochs, padding read after the text cost nearly everything, while padding read before it and superfluous states cost nothing that shows; one network that read padding after the text learned the task within six epochs.
# - On 2000 film sentences, frozen pretrained vectors beat the same vectors shuffled by more than ten points, and after two epochs the LSTM on them is level with naive Bayes or slightly behind.
# - There, padding cost far less, and "not" worked as a negative word and not as a negation.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 16.2-1
#
# Add attention pooling: a weight for each step, $\alpha_t=\mathrm{softmax}_t(\mathbf{v}^\top\mathbf{h}_t)$ over the real steps, with a trained vector $\mathbf{v}\in\mathbb{R}^{2h}$; the encoding is $\sum_t\alpha_t\mathbf{h}_t$.
# Compare it with mean, maximum and final states on the toy reviews, with one seed and three epochs.
# Is each independent of padding?

# %% [markdown]
# #### Solution 16.2-1

# %%
# solution 16.2-1
class AttentionRNN(BiRNN):
    """BiRNN with a weighted mean of its outputs."""

    def __init__(self, *args):
        super().__init__(*args)
        self.score = nn.Linear(self.output_layer.in_features, 1, bias=False)

    def encode(self, embs, lengths):
        outputs, _ = self.states(embs, lengths)  # (b, T, 2h)
        steps = torch.arange(embs.shape[1], device=embs.device)
        scores = self.score(outputs)[:, :, 0].masked_fill(
            steps >= lengths[:, None], -torch.inf)
        return (scores.softmax(dim=1)[:, :, None] * outputs).sum(dim=1)


table = {"final": curves["final", "packed", 0]}
for name, kind in (("mean", BiRNN), ("max", BiRNN),
                   ("attention", AttentionRNN)):
    pooling = "mean" if name == "attention" else name
    net, table[name] = toy_net(kind, pooling, toy_data, True, 0,
                               toy_epochs)
    rows = [torch.tensor(vocab[text.split()]) for text in toy_test.texts[:9]]
    net.cpu().eval()
    with torch.no_grad():
        change = net(padded_batch(rows, 50)) - net(padded_batch(rows, 90))
    assert change.abs().max() < 1e-5, name
fig, ax = plt.subplots(figsize=(4.5, 2.4), layout="constrained")
for (name, accuracies), marker in zip(table.items(), "os^D"):
    print(f"{name:9}", "  ".join(f"{a:.3f}" for a in accuracies))
    ax.plot(range(1, toy_epochs + 1), accuracies, marker=marker, label=name)
ax.set(xlabel="epoch", ylabel="test accuracy", xticks=(1, 2, 3))
ax.legend()
d2l.describe(ax, """Test accuracy of four encodings after one, two and three
    epochs. All start near one half; after two epochs the final states lead,
    after three all are above 0.9.""")
if toy_run:
    assert min(a[-1] for a in table.values()) > 0.9
    assert table["final"][1] > 0.05 + max(
        a[1] for name, a in table.items() if name != "final")

# %% [markdown]
# None depends on padding, when packed and masked.
# In this run the final states lead after two epochs, and after three all four are right on more than nine tenths.
# One seed and one task, whose last clause decides: on other texts the order may be another.

# %% [markdown]
# ### Exercise 16.2-2
#
# A memory limit allows 20 tokens of each review.
# Is it better to keep the first or the last 20?
# Use the trained packed network, on test reviews with "overall" and on those without, that are longer than 20 tokens.

# %% [markdown]
# #### Solution 16.2-2

# %%
# solution 16.2-2
net = nets["final", "packed", 0]
kept = {}
for overall in (True, False):
    chosen = [(text.split(), label) for text, label in zip(
        toy_test.texts, toy_test.labels) if len(text.split()) > 20
        and ("overall" in text) == overall]
    truth = torch.tensor([label for _, label in chosen])
    for side, part in (("first", slice(20)), ("last", slice(-20, None))):
        p = predict_sentiment(net, vocab, [" ".join(t[part])
                                           for t, _ in chosen])
        kept[overall, side] = ((p > 0.5) == truth).float().mean().item()
        print(f"overall {overall!s:5}, {side:5} 20 tokens: "
              f"{kept[overall, side]:.3f} of {len(chosen)} right")
if toy_run:
    assert kept[True, "last"] > 0.95 and abs(kept[True, "first"] - 0.5) < 0.2
    assert kept[False, "first"] > 0.9 and kept[False, "last"] > 0.9

# %% [markdown]
# With "overall" the last 20 tokens suffice, and the first 20 are at chance: they hold opinions that were drawn at random.
# Without it every opinion has the label, and it hardly matters which are kept.
# The network never saw cut texts in training.

# %% [markdown]
# ### Exercise 16.2-3
#
# With 300 labelled sentences, is it better to freeze MiniLM's vectors or to train them along?
# Count the trained parameters, and compare at equal steps, after each of four epochs, with mean pooling and three seeds; at the end, by the paired difference of their right answers.

# %% [markdown]
# #### Solution 16.2-3

# %%
# solution 16.2-3
few = FilledData((train[:300], y[:300]), (test[:500], y_test[:500].tolist()),
                 batch_size=30, num_steps=50, bucketing=True)
table = vectors["MiniLM"][words[few.vocab.idx_to_token]]  # (V, 100)
correct, sizes, history = {}, {}, {True: [], False: []}
for freeze in (True, False):
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        net = BiRNN(*table.shape, num_hiddens, pooling="mean")
        net.embedding = nn.Embedding.from_pretrained(table.clone(), freeze)
        history[freeze].append(fit_clipped(
            net, few, 4, seed=seed, num_gpus=num_gpus)["val_acc"])
        scores, truth = predict(net, few.val_dataloader())
        correct[freeze, seed] = (scores.argmax(1) == truth).numpy()
        print(f"frozen {freeze!s:5}, seed {seed}: "
              + "  ".join(f"{a:.3f}" for a in history[freeze][-1]))
        assert torch.equal(net.embedding.weight.cpu(), table) == freeze
    sizes[freeze] = sum(p.numel() for p in net.parameters()
                        if p.requires_grad)
print(sizes)
for seed in range(num_seeds):
    a, b, p = mcnemar(correct[True, seed], correct[False, seed])
    print(f"seed {seed}: only frozen {a}, only trained {b}, p = {p:.2g}")
gaps = np.subtract(history[True], history[False]).mean(axis=0)  # (epochs,)
assert sizes[False] - sizes[True] == table.numel()
if film_run:
    assert 7 < sizes[False] / sizes[True] < 8
    assert gaps[2] < 0 < gaps[3]

# %% [markdown]
# Training the vectors means more than seven times as many parameters.
# Which is better, these runs do not tell: in the mean of the three seeds the trained network is ahead after three epochs, and the frozen one after four.
# A small $p$ in a single run does not change that.
# McNemar's test compares two given networks on these sentences, and knows nothing of how much two training runs of the same kind differ.

# %% [markdown]
# ### Exercise 16.2-4
#
# Someone pads on the left, so the last column is always a real token, and does without packing.
# Is any of the four encodings then independent of the amount of padding?
# Take the network that was trained longest on padding, on the right, and an untrained one, and measure how far each half of the ends moves, with padding on either side.

# %% [markdown]
# #### Solution 16.2-4

# %%
# solution 16.2-4
rows = [torch.tensor(vocab[text.split()]) for text in toy_test.texts[:64]]
torch.manual_seed(0)
kinds = {"trained": nets["ends", "right", 0].cpu().eval(),
         "untrained": BiRNN(len(vocab), 32, num_hiddens, 1, "ends", False)}
moved = {}
for pooling in BiRNN.poolings:  # with padding on the left
    net = BiRNN(len(vocab), 32, num_hiddens, 1, pooling, False)
    with torch.no_grad():
        a, b = (net(padded_batch(rows, T, vocab["<pad>"], True))
                for T in (50, 70))
    print(f"{pooling:5}: scores change by {(a - b).abs().max():.0e}")
    assert (a - b).abs().max() > 1e-4
for name, net in kinds.items():
    for left in (False, True):
        with torch.no_grad():
            codes = [net.encode(net.embedding(ids), lengths)
                     for ids, lengths in (
                         padded_batch(rows, T, vocab["<pad>"], left)
                         for T in (50, 51, 70))]
        moved[name, left] = [
            max(float((a - b).norm() / b.norm()) for a in halves)
            for *halves, b in zip(*(code.split(num_hiddens, dim=1)
                                    for code in codes))]
        print(f"{name:9} padded {'left' if left else 'right':5}: "
              + "  ".join(f"{half} {m:.0e}" for half, m in zip(
                  ("fwd first", "bwd first", "fwd last", "bwd last"),
                  moved[name, left])))
        assert moved[name, left][0] == moved[name, left][3] == 0
        assert min(moved[name, left][1:3]) > 0
    left_side = moved[name, True]
    assert left_side[2] < left_side[1] / 100 or not toy_run
assert moved["untrained", False][2] > moved["untrained", False][1]

# %% [markdown]
# None of the four encodings is independent.
# Two of the four halves do not move at all, because they have seen a single cell: the forward state of the first cell (with left padding, a `<pad>`) and the backward state of the last.
# The two halves that have read the text move.
# With left padding the forward state of the last step moves far less than the backward state of the first, which then runs on over the padding; in the untrained network right padding exchanges the two roles.

# %% [markdown]
# ## Sources
#
# - A. Graves and J. Schmidhuber, Framewise phoneme classification with bidirectional LSTM and other neural network architectures, *Neural Networks* 18, 2005, [doi:10.1016/j.neunet.2005.06.042](https://doi.org/10.1016/j.neunet.2005.06.042): bidirectional LSTMs.
# - A. M. Dai and Q. V. Le, Semi-supervised sequence learning, 2015, [arXiv:1511.01432](https://arxiv.org/abs/1511.01432): LSTMs pretrained without labels.
# - B. Pang and L. Lee, Seeing stars: exploiting class relationships for sentiment categorization with respect to rating scales, ACL 2005, [doi:10.3115/1219840.1219855](https://doi.org/10.3115/1219840.1219855): the sentences.
# - J. Devlin and others, BERT: pre-training of deep bidirectional transformers for language understanding, 2018, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805): 94.9 % on SST-2.
# - R. Socher and others, Recursive deep models for semantic compositionality over a sentiment treebank, EMNLP 2013, [aclanthology.org/D13-1170](https://aclanthology.org/D13-1170): the new labels, for sentences and phrases.
# - K. Simonyan, A. Vedaldi and A. Zisserman, Deep inside convolutional networks: visualising image classification models and saliency maps, 2013, [arXiv:1312.6034](https://arxiv.org/abs/1312.6034): saliency by gradients.
# - J. Li, X. Chen, E. Hovy and D. Jurafsky, Visualizing and understanding neural models in NLP, 2016, [arXiv:1506.01066](https://arxiv.org/abs/1506.01066): the same for text.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, 2023, [d2l.ai](https://d2l.ai): the encoding by the ends of a padded batch.
