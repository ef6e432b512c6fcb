# ---
# jupyter:
#   d2l:
#     data: [sentence-polarity, minilm, bert-vocab]
#     profiles:
#       gpu: {}
#       smoke: {}
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

# %%
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import (
    Classifier, predict)
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.nlp_applications import pad_texts
from d2l_helpers.chapters.nlp_pretraining import TokenEmbedding
from d2l_helpers.pretrained import minilm

d2l.use_style()

# %% tags=["parameters"]
seed = 0

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
    return pack_padded_sequence(X, lengths, batch_first=True,
                                enforce_sorted=False)


def unpack(packed, num_steps, value=0.0):
    """The tensor (b, num_steps, d) of what `pack` made; `value` beyond.

    Raises ValueError if a text has more than `num_steps` steps.
    """
    return pad_packed_sequence(packed, batch_first=True, padding_value=value,
                               total_length=num_steps)[0]


# %% tags=["export"]
class BiRNN(Classifier):
    """Two scores for texts (ids, lengths), by a bidirectional LSTM.

    `ids` (b, T) are token indices, `lengths` (b,) the numbers of real ones.
    `num_hiddens` h counts for each direction. `pooling` makes the encoding:
    "final", the last state of each direction in the last layer (b, 2h);
    "ends", the outputs of first and last step side by side (b, 4h); "mean"
    or "max", over the outputs of all steps (b, 2h). With `packed`, only real
    steps are read and pooled, otherwise padding counts as text. `dropout`
    acts between layers. Raises ValueError for another pooling.
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
                           dropout=dropout)
        sides = 4 if pooling == "ends" else 2
        self.output_layer = nn.Linear(sides * num_hiddens, 2)

    def configure_optimizers(self):
        return torch.optim.Adam(
            [p for p in self.parameters() if p.requires_grad], self.lr)


# %% tags=["export"]
@add_to_class(BiRNN)
def states(self, embs, lengths):
    """Outputs (b, T, 2h) and last states (2 layers, b, h) of embs (b, T, d).

    When packed, outputs beyond `lengths` are 0.
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


def minilm_vectors(words, d=100):
    """Input vectors of the encoder MiniLM for words, a TokenEmbedding.

    A word that is no piece of its vocabulary has the mean vector of its
    pieces. Of 384 numbers, the d principal components of the whole table of
    30 522 pieces are kept, times one number that makes the mean square of
    these components 1. Raises ValueError unless 1 <= d <= 384.
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
    words = sorted(set(words) - {"<unk>", "<pad>"})
    rows = [table[net.tokenize(word)[1:-1]].mean(dim=0) for word in words]
    return TokenEmbedding((words, torch.stack(rows)))

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %%
# check 16.2-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.2-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.2-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.2-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.2-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.2-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.2-C7: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.2-C8: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 16.2-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.2-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.2-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.2-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.2-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.2-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.2-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.2-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
