# ---
# jupyter:
#   d2l:
#     data: [bert-vocab, minilm, stsb]
#     profiles:
#       gpu: {}
#       smoke:
#         num_pairs: 60
#         num_seeds: 1
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
# # 15.8 Bidirectional encoder representations from Transformers (BERT)
#
# The tables of the sections before give "bank" one vector, whether the sentence is about rivers or about money.
# BERT gives it a vector for each place where it stands, computed from the words on both sides.
# This section builds the whole of BERT, input, encoder and both heads, counts the parameters to the last one (the heads left out), loads published weights into the class that we wrote, and ends with a block of one of its successors, ModernBERT (2024).
#
# **You will**
#
# - turn one text or a pair into BERT's input, and build encoder and heads from the blocks of chapter 11;
# - show what each token can see, and that BERT-base has 109,482,240 parameters without its two heads;
# - load a pretrained encoder, tensor by tensor, and compare it with controls on human judgements;
# - build a block with a local window and rotary positions, and measure how far it reaches.
#
# **Cost**: about half a minute on a CPU, no use for a GPU; downloads of about 65 MB.

# %%
import copy
import csv
import itertools
import math
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    TransformerEncoderBlock, apply_rope, attention_pattern, mask_tokens)
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.pretrained import minilm, weights
from d2l_helpers.texts import ToyWorld
from d2l_helpers.wordpiece import WordPiece

d2l.use_style()

# %% tags=["parameters"]
num_pairs = 1379  # of sentences with human judgements
num_seeds = 3

# %% [markdown]
# ## A vector for each occurrence
#
# Word2vec, GloVe and fastText give a word $x$ the vector $f(x)$.
# What we want is $f(x,c(x))$, which also depends on the context $c(x)$: "a crane is flying" and "a crane driver came" share the word and hardly anything else.
# Such vectors are older than BERT (McCann and others, 2017, took them from the encoder of a translation model); three models of 2018 differ in which tokens a vector may depend on.
#
# - ELMo (Peters and others) trains two recurrent language models, one from left to right and one from right to left, joins their states layer by layer, and gives a task a weighted sum over the layers as features. Each state has seen one side only; they meet at the end.
# - GPT (Radford and others) is a Transformer that reads from left to right, and is fine-tuned as a whole.
# - BERT (Devlin and others) is a Transformer in which every token sees all tokens, in every layer, and is fine-tuned too.

# %% tags=["hide-input"]
steps = 8
causal = attention_pattern("causal", n_tgt=steps)
both = attention_pattern("encoder", n_src=steps)
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.6), sharey=True)
for ax, layers, title in zip(
        axes, ([causal, causal.T], [causal], [both]),
        ("ELMo: two networks", "GPT", "BERT")):
    for seen, color, size in zip(layers, ("#0072B2", "#E69F00"), (70, 22)):
        at = seen.nonzero()
        ax.scatter(at[:, 1], at[:, 0], marker="s", s=size, color=color)
    ax.set(title=title, xlim=(-0.6, 7.6), ylim=(7.6, -0.6), aspect="equal",
           xlabel="seen token", xticks=range(0, 8, 2))
    ax.grid(False)
axes[0].set_ylabel("token")
d2l.describe(axes, """Three grids of 8 tokens by 8 tokens. ELMo: one network
    sees the token and those to its left, the other one the token and those
    to its right; a small orange square inside a blue one is on the diagonal
    only. GPT: only the lower left triangle. BERT: all squares are filled.""")

# %% [markdown]
# **Figure 15.8.1.** Which tokens each token can depend on: in ELMo one side in each of two networks (blue, orange), in GPT the left side, in BERT all. (The squares show what a state has read, its own token included; in ELMo and GPT it is trained to predict the next word on the side that it has not read.)
#
# ## One text or two as a sequence
#
# BERT reads one text, or two, such as a question and a passage.
# The sequence starts with `<cls>`, whose output will stand for the whole, and each text ends with `<sep>`.

# %% tags=["export"]
def tokens_and_segments(a, b=None):
    """One text, or a pair of texts, as BERT reads it (Devlin et al., 2019).

    Parameters
    ----------
    a, b : list of str
        Tokens; without `b` the input is a single text.

    Returns
    -------
    tokens : list of str
        "<cls>", a, "<sep>" and, with b, b, "<sep>".
    segments : list of int
        For each token 0 up to the first "<sep>", with it, and 1 afterwards.

    Raises
    ------
    TypeError
        For a string in place of a list of tokens.
    """
    for text in (a, b):
        if isinstance(text, str):
            raise TypeError(f"{text!r} is a string; split it into a list of "
                            "tokens first.")
    tokens, segments = ["<cls>", *a, "<sep>"], [0] * (len(a) + 2)
    if b is not None:
        tokens += [*b, "<sep>"]
        segments += [1] * (len(b) + 1)
    return tokens, segments

# %%
tokens, segments = tokens_and_segments(["a", "crane", "flew"],
                                       ["it", "landed"])
print(tokens, segments, sep="\n")
assert tokens == "<cls> a crane flew <sep> it landed <sep>".split()
assert segments == [0, 0, 0, 0, 0, 1, 1, 1]
assert tokens_and_segments(["a"]) == (["<cls>", "a", "<sep>"], [0, 0, 0])
assert tokens_and_segments([], []) == (["<cls>", "<sep>", "<sep>"], [0, 0, 1])

# %% tags=["hide-input"]
for pair in (("a crane",), (["a"], "crane")):  # text, not tokens
    try:
        tokens_and_segments(*pair)
        raise AssertionError("a string was accepted")
    except TypeError as error:
        assert repr(pair[-1]) in str(error)

# %% [markdown]
# A token's first vector is a sum over three tables, normalized:
#
# $$\mathbf{x}_i=\mathrm{LN}(\mathbf{E}_{t_i}+\mathbf{S}_{s_i}+\mathbf{P}_i). \tag{15.8.1}$$
#
# Here $t_i$ is the id of token $i$ and $s_i\in\{0,1\}$ its segment; $\mathbf{E}\in\mathbb{R}^{V\times d}$ holds a row for each of the $V$ tokens, $\mathbf{S}\in\mathbb{R}^{2\times d}$ for the segments, $\mathbf{P}\in\mathbb{R}^{T\times d}$ for the positions, and $\mathrm{LN}$ is layer normalization over the $d$ features.
# All three tables are learned.
# In BERT-base, the smaller of the paper's two models, $V=30\,522$, $T=512$ and $d=768$, so they have $30\,522\cdot768=23\,440\,896$, $1536$ and $393\,216$ entries.
# A learned $\mathbf{P}$ has no row for position 512, so a longer text has to be cut or split.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 2.4))
for i, (token, segment) in enumerate(zip(tokens, segments)):
    for row, (text, color) in enumerate((
            (token, "#56B4E9"), (f"{'AB'[segment]}",
                                 ("#E69F00", "#F0E442")[segment]),
            (str(i), "#CCCCCC"))):
        ax.text(i, -row, text, ha="center", va="center", fontsize=9,
                color="black", bbox={"boxstyle": "round,pad=0.3", "alpha": 0.7,
                                     "facecolor": color, "edgecolor": "none"})
        if row < 2:
            ax.text(i, -row - 0.5, "+", ha="center", va="center")
for row, text in enumerate(("token", "segment", "position")):
    ax.text(-0.8, -row, text, ha="right", va="center")
ax.set(xlim=(-1.9, 7.5), ylim=(-2.5, 0.5))
ax.axis("off")
d2l.describe(ax, """Eight columns, one for each token of <cls> a crane flew
    <sep> it landed <sep>. In each column three boxes are added: the token,
    the segment, A for the first five and B for the last three, and the
    position, 0 to 7.""")

# %% [markdown]
# **Figure 15.8.2.** The input for a pair of texts: each column is a sum of three learned vectors (segment 0 is written A, 1 B).
#
# ## The encoder
#
# The blocks are those of [Section 11.7](../11-attention-and-transformers/07-transformer.ipynb), post-norm and with biases.
# Two settings change: layer normalization adds only $10^{-12}$ to the variance, and the activation is the GELU of [Section 5.1](../05-multilayer-perceptrons/01-multilayer-perceptrons.ipynb) (Hendrycks and Gimpel, 2016), which multiplies a number by the probability that a standard normal variable lies below it,
#
# $$\mathrm{GELU}(x)=x\,\Phi(x), \tag{15.8.2}$$
#
# with $\Phi$ the distribution function of $\mathcal N(0,1)$.
# $\mathrm{GELU}(-1)=-1\cdot0.1587=-0.1587$, where ReLU gives 0.
# The code inherits everything else; the weights start small, with a standard deviation of 0.02.

# %% tags=["export"]
def init_bert(module):
    """Small random weights for a layer; give it to `Module.apply`.

    Weights of linear layers and tables get a standard deviation of 0.02,
    biases become 0, as in the published code of Devlin et al. (2019), which
    also cuts off the tails.
    """
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class BERTBlock(TransformerEncoderBlock):
    """A block of BERT: post-norm, with biases, and GELU in place of ReLU."""

    def __init__(self, num_hiddens, ffn_num_hiddens, num_heads, dropout):
        super().__init__(num_hiddens, ffn_num_hiddens, num_heads, dropout,
                         use_bias=True)
        self.ffn.net[1] = nn.GELU()
        for sublayer in self.sublayers:
            sublayer.ln.eps = 1e-12

# %% tags=["export"]
class BERTEncoder(nn.Module):
    """The encoder of BERT (Devlin et al., 2019): a vector for each token.

    `num_blks` blocks of width `num_hiddens`, with `num_heads` heads and
    `ffn_num_hiddens` units inside, for at most `max_len` tokens out of
    `vocab_size`. Every weight begins as in `init_bert`.
    """

    def __init__(self, vocab_size, num_hiddens, ffn_num_hiddens, num_heads,
                 num_blks, dropout=0.1, max_len=512):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, num_hiddens)
        self.segment_embedding = nn.Embedding(2, num_hiddens)
        self.pos_embedding = nn.Embedding(max_len, num_hiddens)
        self.ln = nn.LayerNorm(num_hiddens, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.blks = nn.ModuleList(
            BERTBlock(num_hiddens, ffn_num_hiddens, num_heads, dropout)
            for _ in range(num_blks))
        self.apply(init_bert)

    def embed(self, tokens, segments=None):
        """Vectors (n, steps, num_hiddens) that the first block reads."""
        max_len = self.pos_embedding.num_embeddings
        if tokens.dim() != 2 or tokens.shape[1] > max_len:
            raise ValueError(
                f"tokens has the shape {tuple(tokens.shape)}; give (n, steps) "
                f"with at most max_len = {max_len} steps: cut the texts, or "
                "build the encoder with a larger max_len.")
        X = self.token_embedding(tokens)
        X = X + self.pos_embedding.weight[:tokens.shape[1]]
        segments = torch.zeros_like(tokens) if segments is None else segments
        return self.dropout(self.ln(X + self.segment_embedding(segments)))

    @property
    def attention_weights(self):
        """Of the last call, a tensor (n, heads, steps, steps) per block."""
        return [blk.attention.attention_weights for blk in self.blks]

# %% tags=["export"]
@add_to_class(BERTEncoder)
def forward(self, tokens, segments=None, valid_lens=None):
    """(n, steps, num_hiddens), for ids `tokens` (n, steps).

    `segments` (n, steps) holds 0 and 1, by default 0. A token attends to
    the first `valid_lens` tokens of its text: (n,), one number for each
    text, or (n, steps), one for each token; by default to all.
    """
    X = self.embed(tokens, segments)
    for blk in self.blks:
        X = blk(X, valid_lens)
    return X

# %% [markdown]
# A small encoder with random weights is enough to see what depends on what.
# The valid lengths of [Section 11.3](../11-attention-and-transformers/03-attention-scoring.ipynb) do two jobs: one number for each text hides the padding, and one number for each token, $1,2,\dots,T$, hides the future, which makes an encoder like GPT.

# %%
torch.manual_seed(1)
small = BERTEncoder(30, 32, 64, 4, 2, max_len=16).eval().double()
rng = torch.Generator().manual_seed(2)
ids = torch.randint(30, (2, 10), generator=rng)
kinds = (torch.arange(10) > 4).long().expand(2, -1)
lens = torch.tensor([7, 10])  # the first text ends with three of padding
past = torch.arange(1, 11).expand(2, -1)  # for each token, itself included


def moved(at, valid_lens, net=small):
    """How far each token's vector moves when token `at` changes."""
    other = ids.clone()
    other[:, at] = (ids[:, at] + 1) % 30
    with torch.inference_mode():
        return (net(ids, kinds, valid_lens)
                - net(other, kinds, valid_lens)).norm(dim=2)


# %%
# check 15.8-C3: padding is not seen; both neighbors are, unless causal
padded = moved(8, lens)
assert (padded[0, :7] == 0).all() and (padded[1] > 1e-3).all()
right = moved(5, None)  # the right neighbor of token 4
left_only = moved(5, past)
print(f"token 4 moves by {right[0, 4]:.3f} with its right neighbor, in a "
      f"causal encoder by {left_only[0, 4]:.3f}")
assert (right > 1e-3).all()
assert (left_only[:, :5] == 0).all() and (left_only[:, 5:] > 1e-3).all()
assert (moved(0, past) > 1e-4).all()  # and the left one is seen
same_segment = small(ids, torch.zeros_like(ids))
torch.testing.assert_close(small(ids), same_segment)
assert not torch.allclose(small(ids, kinds), same_segment)
assert [each.shape for each in small.attention_weights] == [
    (2, 4, 10, 10)] * 2

# %% [markdown]
# So in a model that reads from left to right, "bank" in "I went to the bank to deposit cash" and in "I went to the bank to sit down" has the same vector, whatever the weights: the words before it are the same.
#
# What tells the encoder the order of the words within a text?
# Only $\mathbf{P}$: self-attention and the position-wise network treat all places alike.

# %%
# check 15.8-C5: without positions, permuting the tokens permutes the outputs
order = torch.randperm(10, generator=rng)
blind = copy.deepcopy(small)
nn.init.zeros_(blind.pos_embedding.weight)
with torch.inference_mode():
    gap = [(net(ids[:, order], kinds[:, order])
            - net(ids, kinds)[:, order]).abs().max()
           for net in (small, blind)]
print("with and without positions:", *(f"{each:.1e}" for each in gap))
assert gap[0] > 0.1 and gap[1] < 1e-12

# %% [markdown]
# ## Predicting masked words
#
# A language model that reads from left to right is trained on every next token.
# With both directions that fails, since the next token is among the inputs.
# BERT is trained by masked language modelling, which [Section 11.9](../11-attention-and-transformers/09-large-scale-pretraining.ipynb) introduced with `mask_tokens`: 15 % of the tokens, never one of the marks, are selected, and the loss counts only these.
# Of those selected, 80 % become `<mask>`, 10 % a random token, and 10 % stay as they are.

# %%
reserved = ["<cls>", "<mask>", "<pad>", "<sep>"]
vocab = Vocab(ToyWorld.words, reserved_tokens=reserved)
world = ToyWorld(2)
text = world.paragraph(2)
tokens, segments = tokens_and_segments(*text)
ids = torch.tensor([vocab[tokens]])
inputs, labels = mask_tokens(ids, vocab["<mask>"], len(vocab),
                             vocab[reserved],
                             generator=torch.Generator().manual_seed(363))
pred_positions = (labels != -100).nonzero()[:, 1][None]  # (1, k)
print(" ".join(vocab.to_tokens(inputs[0])))
for i in pred_positions[0].tolist():
    print(f"position {i}: {tokens[i]!r} became "
          f"{vocab.to_tokens(inputs[0, i])!r}")
fates = {vocab.to_tokens(inputs[0, i]) for i in pred_positions[0]}
assert len(vocab) == 44 and len(fates) == 3 and "<mask>" in fates

# %% [markdown]
# Why not `<mask>` always?
# When BERT is fine-tuned for another task, or its vectors are handed to one, there is no `<mask>` in its input.
# Nothing marks a token that was kept or replaced, so the model has to keep a good guess at every position, whether there is a mask or not.
# That is the argument of the paper; in its ablation fine-tuned models hardly depend on these shares, while features taken without fine-tuning did worst at finding names after training with `<mask>` alone.
# (The idea of a text with gaps is older; psychologists call it the cloze test.)
#
# The head takes the vector $\mathbf{h}\in\mathbb{R}^d$ of a selected position through a small network, and scores all tokens against the table of (15.8.1):
#
# $$\mathbf{z}=\mathbf{E}\,\mathrm{LN}\big(\mathrm{GELU}(\mathbf{W}\mathbf{h}+\mathbf{b})\big)+\mathbf{c}, \tag{15.8.3}$$
#
# with $\mathbf{W}\in\mathbb{R}^{d\times d}$, $\mathbf{b}\in\mathbb{R}^d$, and $\mathbf{c},\mathbf{z}\in\mathbb{R}^V$; the softmax of $\mathbf{z}$ is the prediction.
# Since input and output share $\mathbf{E}$, the decoder is tied ([Section 6.2](../06-builders-guide/02-parameters.ipynb)); untied, it would cost another 23 million parameters at the size of BERT-base.

# %% tags=["export"]
class MaskLM(nn.Module):
    """Scores of the vocabulary at chosen positions.

    `tied` is the `nn.Embedding` (vocab_size, num_hiddens) whose weight the
    last layer shares, as it is; without it the weight is its own, and small.
    """

    def __init__(self, vocab_size, num_hiddens, tied=None):
        super().__init__()
        self.transform = nn.Sequential(
            nn.Linear(num_hiddens, num_hiddens), nn.GELU(),
            nn.LayerNorm(num_hiddens, eps=1e-12))
        self.decoder = nn.Linear(num_hiddens, vocab_size)
        self.apply(init_bert)  # first, for it must not touch the table
        if tied is not None:
            if tied.weight.shape != self.decoder.weight.shape:
                raise ValueError(
                    f"tied has a weight {tuple(tied.weight.shape)}; it must "
                    f"be {(vocab_size, num_hiddens)}, (vocab_size, "
                    "num_hiddens).")
            self.decoder.weight = tied.weight

    def forward(self, X, pred_positions):
        """(n, k, vocab_size), for X (n, steps, d) and positions (n, k)."""
        if pred_positions.dim() != 2 or len(pred_positions) != len(X):
            raise ValueError(
                f"pred_positions has the shape {tuple(pred_positions.shape)} "
                f"for {len(X)} texts; give {len(X)} rows of positions.")
        chosen = torch.take_along_dim(X, pred_positions[:, :, None], dim=1)
        return self.decoder(self.transform(chosen))  # chosen is (n, k, d)

# %%
# check 15.8-C4: positions are gathered row by row
torch.manual_seed(3)
table = nn.Embedding(50, 16)
as_it_was = table.weight.detach().clone()
head = MaskLM(50, 16, table)
assert torch.equal(table.weight, as_it_was)  # a trained table survives
X = torch.randn(3, 9, 16)
places = torch.tensor([[0, 4], [8, 2], [5, 5]])
nn.init.normal_(head.decoder.bias)
W, b, c = head.transform[0].weight, head.transform[0].bias, head.decoder.bias
rows = [F.layer_norm(F.gelu(W @ X[i, place] + b), (16,), eps=1e-12)
        @ table.weight.T + c  # (15.8.3)
        for i in range(3) for place in places[i].tolist()]
torch.testing.assert_close(head(X, places),
                           torch.stack(rows).reshape(3, 2, 50))
for wrong in (places[:2], places[0]):
    try:
        head(X, wrong)
        raise AssertionError("positions of another batch were accepted")
    except ValueError as error:
        assert str(tuple(wrong.shape)) in str(error)

# %%
# check 15.8-C7: the tied table is one tensor, counted once
assert head.decoder.weight is table.weight
before = table.weight.detach().clone()
optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
F.cross_entropy(head(X, places).flatten(0, 1),
                torch.arange(6)).backward()
optimizer.step()
assert not torch.equal(table.weight, before)  # moved through the decoder
tied = count_params(nn.ModuleList([table, head]))
untied = count_params(nn.ModuleList([table, MaskLM(50, 16)]))
print(f"{tied} parameters tied, {untied} untied")
assert untied - tied == 50 * 16
try:
    MaskLM(50, 16, nn.Embedding(50, 8))
    raise AssertionError("a table of another width was tied")
except ValueError as error:
    assert "(50, 8)" in str(error) and "(50, 16)" in str(error)

# %% [markdown]
# ## Predicting the next sentence
#
# Questions about two texts, such as whether one answers the other, need more than single words.
# BERT's second task is *next sentence prediction*: half of the pairs are consecutive, in the other half the second text comes from elsewhere, and the model tells which.
# It reads the vector of `<cls>` after one more layer with $\tanh$, the *pooler*; that vector can only be useful if attention has brought the texts together in it.
# (Here "sentence" is any stretch of text.)

# %% tags=["export"]
class NextSentencePred(nn.Module):
    """Two scores for a pair of texts, from the pooled vector of "<cls>".

    Column 1 stands for "b follows a", column 0 for "b is from elsewhere";
    in the published heads it is the other way round.
    """

    def __init__(self, num_hiddens):
        super().__init__()
        self.output = nn.Linear(num_hiddens, 2)
        self.apply(init_bert)

    def forward(self, pooled):
        """(n, 2), for vectors (n, num_hiddens), one for each pair."""
        if pooled.dim() != 2:
            raise ValueError(
                f"pooled has the shape {tuple(pooled.shape)}; give one vector "
                "for each pair, (n, num_hiddens), that of <cls>.")
        return self.output(pooled)

# %% [markdown]
# *Dive into Deep Learning* demonstrates its head on something else: it flattens the vectors of all tokens of a text into one long vector, which fixes the number of tokens.
# Its full model takes `<cls>`, as the paper does.
# Our head refuses a tensor that is not one vector per pair.

# %%
nsp = NextSentencePred(16)
print(tuple(nsp(X[:, 0]).shape))
try:
    nsp(X)
    raise AssertionError("the vectors of all tokens were accepted")
except ValueError as error:
    assert "(3, 9, 16)" in str(error)

# %% [markdown]
# ## The whole model

# %% tags=["export"]
class BERTModel(nn.Module):
    """Encoder, pooler and both heads of BERT; see `BERTEncoder`.

    The decoder of the masked language model is tied to the token table.
    """

    def __init__(self, vocab_size, num_hiddens, ffn_num_hiddens, num_heads,
                 num_blks, dropout=0.1, max_len=512):
        super().__init__()
        self.encoder = BERTEncoder(vocab_size, num_hiddens, ffn_num_hiddens,
                                   num_heads, num_blks, dropout, max_len)
        self.pooler = nn.Sequential(nn.Linear(num_hiddens, num_hiddens),
                                    nn.Tanh()).apply(init_bert)
        self.mlm = MaskLM(vocab_size, num_hiddens,
                          self.encoder.token_embedding)
        self.nsp = NextSentencePred(num_hiddens)

    def forward(self, tokens, segments=None, valid_lens=None,
                pred_positions=None):
        """Vectors, scores of words, scores of "b follows a".

        They are (n, steps, num_hiddens), (n, k, vocab_size) and (n, 2), for
        `tokens` and `segments` (n, steps), `valid_lens` (n,) and
        `pred_positions` (n, k). Without positions the second is None.
        """
        X = self.encoder(tokens, segments, valid_lens)
        words = (None if pred_positions is None
                 else self.mlm(X, pred_positions))
        return X, words, self.nsp(self.pooler(X[:, 0]))  # position of <cls>

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.2))


def box(x, y, w, text, color):
    """A box of width w, centered at (x, y)."""
    ax.add_patch(plt.Rectangle((x - w / 2, y - 0.3), w, 0.6, lw=0,
                               facecolor=color, alpha=0.6))
    ax.text(x, y, text, ha="center", va="center", fontsize=8, color="black")


def arrow(x, low, high):
    ax.annotate("", (x, high), (x, low),
                arrowprops={"arrowstyle": "->", "color": "0.5"})


shown = "<cls> a <mask> flew <sep> it landed <sep>".split()
for i, token in enumerate(shown):
    box(i, 0, 0.9, token, "#E69F00" if i == 2 else "#CCCCCC")
    arrow(i, 0.3, 0.7)
box(3.5, 1, 7.9, "tables, layer norm, blocks", "#56B4E9")
for i, name in ((0, "h of <cls>"), (2, "h of position 2")):
    arrow(i, 1.3, 1.7)
    box(i, 2, 1.5, name, "#CCCCCC")
    arrow(i, 2.3, 2.7)
box(0, 3, 1.5, "dense, tanh", "#009E73")
box(2, 3, 1.9, "dense, GELU, norm", "#009E73")
for i, name in ((0, "2 scores:\nnext or not"), (2, "V scores:\nwhich word")):
    arrow(i, 3.3, 3.7)
    ax.text(i, 4.1, name, ha="center", va="center", fontsize=8)
ax.annotate("times the token table, tied", (3.0, 3.5), (4.2, 3.5),
            fontsize=8, va="center",
            arrowprops={"arrowstyle": "->", "color": "0.5"})
ax.set(xlim=(-1, 8), ylim=(-0.5, 4.5))
ax.axis("off")
d2l.describe(ax, """Eight tokens, the third one masked, go into one wide box
    with tables and blocks. Of its outputs two are used: that of <cls> goes
    through a dense layer with tanh to two scores, next or not; that of the
    masked position through dense, GELU and norm, and times the token table,
    to V scores for the word.""")

# %% [markdown]
# **Figure 15.8.3.** The wiring of the heads: the scores for the pair come from `<cls>`, those for a word from its own position. (The last linear layer, from the pooled vector to the 2 scores, and the biases are not drawn.) The other outputs enter neither loss directly.

# %%
# check 15.8-C1: the shapes at the width of BERT-base
torch.manual_seed(0)
net = BERTModel(10_000, 768, 1024, 4, 2).eval()
ids = torch.randint(10_000, (2, 8))
places = torch.tensor([[1, 5, 2], [6, 1, 5]])
with torch.inference_mode():
    X, words, order = net(ids, torch.zeros_like(ids), None, places)
    print(*(tuple(each.shape) for each in (X, words, order)))
    assert net(ids)[1] is None
    torch.testing.assert_close(net.encoder(ids), X)
    torch.testing.assert_close(net.mlm(X, places), words)
    pooled = (X[:, 0] @ net.pooler[0].weight.T).tanh()  # biases are 0
    torch.testing.assert_close(pooled @ net.nsp.output.weight.T, order)
assert X.shape == (2, 8, 768) and words.shape == (2, 3, 10_000)
assert order.shape == (2, 2)
assert net.mlm.decoder.weight is net.encoder.token_embedding.weight

# %% tags=["hide-input"]
# check: the model hands on all that it is given; how its weights begin
torch.manual_seed(11)
wired = BERTModel(300, 64, 96, 8, 3, dropout=0.5, max_len=9).eval()
for module in wired.modules():
    if isinstance(module, (nn.Linear, nn.Embedding)):
        std, n = module.weight.std().item(), module.weight.numel()
        assert abs(std / 0.02 - 1) < 4 / math.sqrt(2 * n)  # sampling error
        assert getattr(module, "bias", None) is None or not module.bias.any()
    assert getattr(module, "eps", 1e-12) == 1e-12
    assert getattr(module, "p", 0.5) == 0.5  # of dropout
ids, kinds = torch.randint(300, (2, 9)), torch.randint(2, (2, 9))
lens, places = torch.tensor([5, 9]), torch.tensor([[1, 3], [2, 0]])
with torch.inference_mode():
    X, words, order = wired(ids, kinds, lens, places)
    seen = wired.encoder.attention_weights
    torch.testing.assert_close(wired.encoder(ids, kinds, lens), X)
    assert not torch.allclose(wired.encoder(ids, None, lens), X)
    assert not torch.allclose(wired.encoder(ids, kinds), X)
    torch.testing.assert_close(wired.mlm(X, places), words)
    torch.testing.assert_close(wired.nsp(wired.pooler(X[:, 0])), order)
    wired.train()
    zeros = (wired.encoder.embed(ids) == 0).float().mean()
    assert not torch.allclose(*(wired.encoder.blks[0](X) for _ in "ab"))
assert [each.shape for each in seen] == [(2, 8, 9, 9)] * 3
assert wired.encoder.pos_embedding.num_embeddings == 9
assert 0.4 < zeros < 0.6

# %% [markdown]
# At the start the model should know nothing.
# Layer normalization makes a vector of length about $\sqrt d$, so its products with rows of $\mathbf{E}$, whose entries have the standard deviation $0.02$, have the standard deviation $\sigma=0.02\sqrt d$.
# For normal scores that are independent of the label, and for a large $V$ and a small $\sigma$, the expected loss is
#
# $$\ell_0\approx\log V+\tfrac12\sigma^2. \tag{15.8.4}$$
#
# With $V=44$ and $d=64$, $\ell_0\approx3.784+0.013=3.797$.
# With a standard deviation of 1 instead of 0.02, as `nn.Embedding` draws it by default, $\sigma=8$: the formula no longer holds, and the model begins sure of wrong answers.

# %%
pairs = [tokens_and_segments(*world.paragraph(2)) for _ in range(256)]
width = max(len(tokens) for tokens, _ in pairs)
ids = torch.tensor([vocab[tokens + ["<pad>"] * (width - len(tokens))]
                    for tokens, _ in pairs])
segments = torch.tensor([each + [0] * (width - len(each))
                         for _, each in pairs])
lens = torch.tensor([len(tokens) for tokens, _ in pairs])
inputs, labels = mask_tokens(ids, vocab["<mask>"], len(vocab),
                             vocab[reserved],
                             generator=torch.Generator().manual_seed(4))


def first_loss(seed, std):
    """Mean loss of an untrained model whose token table has this deviation."""
    torch.manual_seed(seed)
    net = BERTModel(len(vocab), 64, 128, 4, 2, max_len=width).eval()
    nn.init.normal_(net.encoder.token_embedding.weight, std=std)
    everywhere = torch.arange(width).expand(len(ids), -1)
    with torch.inference_mode():
        _, scores, _ = net(inputs, segments, lens, everywhere)
    return F.cross_entropy(scores.flatten(0, 1), labels.flatten()).item()


# %%
# check 15.8-C6: the first loss is near that of a uniform guess
uniform = math.log(len(vocab))
losses = {std: [first_loss(seed, std) for seed in range(num_seeds)]
          for std in (0.02, 1.0)}
for std, each in losses.items():
    print(f"standard deviation {std}:", *(f"{loss:.3f}" for loss in each))
predicted = uniform + 0.02**2 * 64 / 2
assert all(abs(loss - predicted) < 0.08 for loss in losses[0.02])
assert all(loss > 2 * uniform for loss in losses[1.0])
torch.manual_seed(12)
head, V = MaskLM(10_000, 64), 10_000
for std in (0.02, 0.1):  # (15.8.4), averaged over all labels
    nn.init.normal_(head.decoder.weight, std=std)
    with torch.inference_mode():
        z = head(torch.randn(8, 9, 64), torch.arange(9).expand(8, -1))
    excess = (z.logsumexp(dim=2) - z.mean(dim=2)).mean() - math.log(V)
    print(f"above log V: {excess:.4f}, by the formula {32 * std**2:.4f}")
    assert abs(excess / (32 * std**2) - 1) < 0.04

# %% [markdown]
# ## Where the parameters are
#
# For width $H$ (the $d$ of the equations above), $L$ blocks, $F$ units inside each and $T$ positions, we count: the tables with their normalization; in each block four square matrices, two rectangular ones, all with biases, and two normalizations; and the pooler.
#
# $$N=\underbrace{(V+T+2)H+2H}_{\text{tables}}+L\,\big[\underbrace{4(H^2+H)}_{\text{attention}}+\underbrace{2HF+F+H}_{\text{network}}+\underbrace{4H}_{\text{norms}}\big]+\underbrace{H^2+H}_{\text{pooler}}. \tag{15.8.5}$$
#
# BERT-base has $H=768$, $L=12$, $F=3072$ and 12 attention heads, BERT-large 1024, 24, 4096 and 16; the number of attention heads does not change the count.
# For BERT-base, $N=23\,837\,184+12\cdot7\,087\,872+590\,592=109\,482\,240$.

# %% tags=["export"]
def bert_param_count(V, H, L, F, max_len=512, pooler=True):
    """Number of parameters of BERT's encoder, without the two heads.

    V tokens, L blocks of width H with F units inside, `max_len` positions;
    `pooler` adds the layer on the vector of "<cls>".
    """
    sizes = {"V": V, "H": H, "L": L, "F": F, "max_len": max_len}
    for name, size in sizes.items():
        if size < 0:
            raise ValueError(f"{name} is {size}; a size cannot be negative.")
    tables = (V + max_len + 2) * H + 2 * H  # and their layer norm
    block = 4 * (H * H + H) + (2 * H * F + F + H) + 4 * H
    return tables + L * block + pooler * (H * H + H)

# %%
# check 15.8-C2: the formula equals the built models, base and large
sizes = {"base": (30_522, 768, 12, 3072), "large": (30_522, 1024, 24, 4096),
         "MiniLM": (30_522, 384, 3, 1536)}
for name, (V, H, L, inside) in sizes.items():
    with torch.device("meta"):  # shapes only, no memory
        net = BERTModel(V, H, inside, 12 if H < 1000 else 16, L)
    counted = [count_params(net.encoder), count_params(
        nn.ModuleList([net.encoder, net.pooler]))]
    assert counted == [bert_param_count(V, H, L, inside, pooler=pooler)
                       for pooler in (False, True)]
    print(f"{name}: {counted[0]:,} without pooler, {counted[1]:,} with it")
assert bert_param_count(*sizes["base"]) == 109_482_240
assert bert_param_count(*sizes["large"]) == 335_141_888
assert bert_param_count(*sizes["MiniLM"], pooler=False) == 17_241_984
small = BERTEncoder(20, 8, 12, 2, 3, max_len=5)  # no size equals another
assert count_params(small) == bert_param_count(20, 8, 3, 12, 5, False)
try:
    bert_param_count(-1, 8, 1, 8)
    raise AssertionError("a negative size was accepted")
except ValueError as error:
    assert "V is -1" in str(error)

# %% [markdown]
# The paper writes 110 and 340 million.
# Our count leaves out the heads, which add little because the decoder is tied: a dense layer of the width of the model, a normalization, one bias per token, and the two scores, at the size of BERT-base $H^2+H+2H+V+2H+2=624\,188$ parameters.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.0, 2.4))
colors = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7"
labels_of = ("token table", "positions, segments, norm", "attention",
             "position-wise networks", "pooler")
shares = {}
for row, (name, (V, H, L, inside)) in enumerate(sizes.items()):
    pooler = name != "MiniLM"
    parts = [V * H, (512 + 2 + 2) * H, L * (4 * (H * H + H) + 2 * H),
             L * (2 * H * inside + inside + H + 2 * H), pooler * (H * H + H)]
    total = bert_param_count(V, H, L, inside, pooler=pooler)
    assert sum(parts) == total
    shares[name], left = [part / total for part in parts], 0
    for part, color, label in zip(shares[name], colors, labels_of):
        ax.barh(row, part, left=left, color=color,
                label=label if row == 0 else None)
        left += part
ax.set(yticks=range(3), xlabel="share of the parameters", yticklabels=[
    f"{name}, {bert_param_count(*size, pooler=name != 'MiniLM') / 1e6:.0f} M"
    for name, size in sizes.items()])
ax.invert_yaxis()
ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.45, -0.3))
d2l.describe(ax, """Three stacked bars. The token table takes a fifth of
    BERT-base, less than a tenth of BERT-large and two thirds of MiniLM;
    position-wise networks take about twice the share of attention in each.
    The other parts are thin.""")
assert 0.2 < shares["base"][0] < 0.23 and shares["large"][0] < 0.1
assert 0.66 < shares["MiniLM"][0] < 0.7

# %% [markdown]
# **Figure 15.8.4.** Where the parameters are: the smaller the network, the more of it is its vocabulary. Each part of a block includes its normalization; MiniLM is counted without a pooler, for its file has none.
#
# ## Published weights in our class
#
# Does our encoder compute what BERT computes?
# A strict test is to give it somebody else's weights.
# MiniLM here is paraphrase-MiniLM-L3-v2 (Reimers and Gurevych): a BERT of three blocks and width 384, trained further so that the mean of its vectors represents a sentence.
# It comes without heads.
# Renaming its tensors is all we need; `load_state_dict` complains about any that is missing, left over or of another shape.

# %%
names = {
    "embeddings.word_embeddings": "token_embedding",
    "embeddings.position_embeddings": "pos_embedding",
    "embeddings.token_type_embeddings": "segment_embedding",
    "embeddings.LayerNorm": "ln", "encoder.layer": "blks",
    "attention.self.query": "attention.W_q",
    "attention.self.key": "attention.W_k",
    "attention.self.value": "attention.W_v",
    "attention.output.dense": "attention.W_o",
    "attention.output.LayerNorm": "sublayers.0.ln",
    "intermediate.dense": "ffn.net.0", "output.dense": "ffn.net.2",
    "output.LayerNorm": "sublayers.1.ln"}


def our_name(name):
    for theirs, ours in names.items():  # the longer "output" names first
        name = name.replace(theirs, ours)
    return name


given, found = weights("minilm")
pretrained = BERTEncoder(30_522, 384, 1536, 12, 3).eval()
pretrained.load_state_dict({our_name(name): tensor
                            for name, tensor in given.items()})
total = sum(tensor.numel() for tensor in given.values())
print(f"{len(given)} tensors, {total:,} numbers")
assert total == bert_param_count(*sizes["MiniLM"], pooler=False)

# %% [markdown]
# The tokenizer is `WordPiece`, which [Section 15.6](06-subwords.ipynb) checked against published ids; it spells the two marks `[CLS]` and `[SEP]`.
# All texts of a batch are padded to the longest, and the mean runs over the real tokens.

# %%
(path,) = d2l.fetch("bert-vocab").files.values()
pieces = WordPiece(path.read_text(encoding="utf-8").splitlines())


def padded_batch(texts):
    """Ids (n, steps), padded by 0, and lengths (n,)."""
    rows = [torch.tensor(pieces(text)) for text in texts]
    return (nn.utils.rnn.pad_sequence(rows, batch_first=True),
            torch.tensor([len(row) for row in rows]))


@torch.inference_mode()
def sentence_vectors(read, texts, size=128):
    """Means (n, d) of the vectors of real tokens, `read(ids, lens)`."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = [None] * len(texts)
    for start in range(0, len(order), size):  # similar lengths together
        chosen = order[start:start + size]
        ids, lens = padded_batch([texts[i] for i in chosen])
        real = torch.arange(ids.shape[1]) < lens[:, None]  # (n, steps)
        X = read(ids, lens) * real[:, :, None]
        for i, vector in zip(chosen, X.sum(1) / lens[:, None]):
            found[i] = vector
    return torch.stack(found)


def through(net):
    """How `sentence_vectors` reads with an encoder."""
    return lambda ids, lens: net(ids, None, lens)

# %% tags=["export"]
def read_sts(path):
    """Rows (text, text, judgement from 0 to 5) of a CSV file of STS-B.

    Raises ValueError for a row of another form.
    """
    with open(path, encoding="utf-8", newline="") as file:
        return [(a, b, float(score)) for a, b, score in csv.reader(file)]

# %%
stsb = d2l.fetch("stsb")
rows = read_sts(stsb.files["stsb-en-test.csv"])[:num_pairs]
texts = [text for row in rows for text in row[:2]]
judged = [score for *_, score in rows]
ours = sentence_vectors(through(pretrained), texts)
with torch.inference_mode():
    theirs = minilm().encode(texts[:40])
torch.testing.assert_close(ours[:40], theirs, rtol=0, atol=1e-5)
print(f"largest difference from PyTorch's own layers: "
      f"{(ours[:40] - theirs).abs().max():.1e}")

# check: commas in quotes; a row of another form is refused
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "pairs.csv"
    path.write_text('"a, b",b,2.5\n', encoding="utf-8")
    assert read_sts(path) == [("a, b", "b", 2.5)]
    for wrong in ("a,b\n", "a,b,two\n", "a,b,1,c\n"):
        path.write_text(wrong, encoding="utf-8")
        try:
            read_sts(path)
            raise AssertionError(f"{wrong!r} was accepted")
        except ValueError:
            pass

# %% [markdown]
# The helper's `minilm()` has the same weights in `nn.TransformerEncoder`, so on these 40 texts the blocks of chapter 11, with two settings changed, compute what PyTorch's own layers do, up to rounding.
#
# ### One word, several vectors
#
# Now we can look at $f(x,c(x))$: the vector of "bank" in six sentences.

# %%
senses = {"bank": ["she went to the bank to deposit cash",
                   "the bank raised its interest rate",
                   "he got a loan from the bank",
                   "they sat on the bank of the river",
                   "the boat drifted towards the muddy bank",
                   "fishermen lined the bank of the stream"]}


@torch.inference_mode()
def cosines_of(net, word):
    """Cosines (6, 6) of the vectors of a word's first piece."""
    ids, lens = padded_batch(senses[word])
    at = [len(pieces(text.split(word)[0])) - 1 for text in senses[word]]
    v = net(ids, None, lens)[torch.arange(len(ids)), at]
    return F.cosine_similarity(v[:, None], v, dim=2)


def gaps(cosines):
    """Mean cosine within minus between, for all ten splits into threes."""
    found = {}
    for rest in itertools.combinations(range(1, 6), 2):
        first = torch.isin(torch.arange(6), torch.tensor([0, *rest]))
        apart = first != first[:, None]
        within = cosines[~apart & ~torch.eye(6, dtype=torch.bool)]
        found[0, *rest] = (within.mean() - cosines[apart].mean()).item()
    return found


cosines = cosines_of(pretrained, "bank")
by_sense = gaps(cosines)[0, 1, 2]
print(f"by sense {by_sense:.3f}, the next best split "
      f"{sorted(gaps(cosines).values())[-2]:.3f}")
real = all(each.is_real for each in (found, stsb, d2l.fetch("bert-vocab")))
if real:
    assert max(gaps(cosines).values()) == by_sense > 0.04
    assert cosines[3, :3].max() > cosines[3:, 3:].min()  # not a clean cut
    assert 0.72 < cosines[:3, 3:].min() and cosines[:3, 3:].max() < 0.86

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.6, 3.0))
image = ax.imshow(cosines.numpy(), cmap="Blues", vmin=0.6, vmax=1)
for i in range(6):
    for j in range(6):
        value = cosines[i, j].item()
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7,
                color="white" if value > 0.82 else "black")
ax.set(yticks=range(6), yticklabels=senses["bank"], xticks=range(6),
       xticklabels=[str(i + 1) for i in range(6)])
ax.tick_params(axis="y", labelsize=8)
ax.grid(False)
fig.colorbar(image, ax=ax, label="cosine")
d2l.describe(ax, """A matrix of cosines between the vectors of the word bank
    in six sentences, the first three about money, the last three about
    rivers. Within the two blocks of three by three on the diagonal they lie
    between 0.82 and 0.89, outside between 0.73 and 0.85.""")

# %% [markdown]
# **Figure 15.8.5.** Cosines between the vectors of "bank" in six sentences (columns in the order of the rows). All six start from the same row of the token table; before the first block only their positions differ.
#
# Among the ten ways to split the six sentences into two groups of three, the split by sense has the largest difference of mean cosines, within minus between.
# The cut is not clean: some pairs of different senses are closer than some of the same sense.
# By luck alone a given split comes first one time in ten, and these sentences differ in more than the sense.
# So we repeat it with four more words, three sentences to a sense, and with untrained encoders of the same shape (random weights, three seeds).

# %% tags=["hide-input"]
senses |= {
    "crane": ["a crane was flying over the lake",
              "the crane built its nest in the marsh",
              "we saw a white crane catch a fish",
              "the crane lifted the steel beams",
              "a crane driver came to the building site",
              "they used a crane to unload the ship"],
    "spring": ["the flowers bloom in spring", "it rained a lot last spring",
               "the birds return in spring",
               "the spring in the mattress is broken",
               "he compressed the metal spring",
               "a coil spring pushes the lever back"],
    "match": ["the team won the match yesterday",
              "she watched the tennis match on television",
              "our players lost the match",
              "he lit a match to start the fire",
              "she struck a match in the dark",
              "a burning match fell on the dry grass"],
    "bat": ["the bat flew out of the cave",
            "a bat hangs upside down in the dark",
            "the vampire bat drinks blood", "he hit the ball with his bat",
            "the player swung the wooden bat",
            "a baseball bat lay on the field"]}

# %%
untrained = []
for seed in range(num_seeds):
    torch.manual_seed(seed)
    untrained.append(BERTEncoder(30_522, 384, 1536, 12, 3).eval())
ranks = {}
for word in senses:
    ranks[word] = []
    for net in (pretrained, *untrained):
        each = gaps(cosines_of(net, word))
        ranks[word].append(1 + sum(other > each[0, 1, 2]
                                   for other in each.values()))
    print(f"{word}: rank {ranks[word][0]} of 10; random weights:",
          *ranks[word][1:])
if real:
    assert all(each[0] == 1 for each in ranks.values())
if real and num_seeds >= 3:
    assert all(min(each[1:]) > 1 for word, each in ranks.items()
               if word != "match") and max(ranks["match"]) == 1
    for net in untrained:  # without positions it is second
        blind = copy.deepcopy(net)
        nn.init.zeros_(blind.pos_embedding.weight)
        each = gaps(cosines_of(blind, "match"))
        assert sum(other > each[0, 1, 2] for other in each.values()) == 1

# %% [markdown]
# With pretrained weights the split by sense comes first for all five words, with random ones for "match" alone.
# So that word proves nothing: in the sentences about games it also stands later than in the others.
# The place is not all, though: with their tables of positions set to zero, the same random encoders still put its split second.
# Sentences that we wrote ourselves remain an illustration; [Section 15.10](10-bert-pretraining.ipynb) tests such vectors on real text.
#
# ### Against human judgements
#
# The STS benchmark (Cer and others, 2017) has pairs of sentences with a similarity from 0 to 5, given by people.
# We rank its 1379 test pairs by the cosine of the mean vectors, and compare the ranking with that of the judgements by Spearman's correlation.
# Three controls: the share of common pieces (of all in either sentence), the mean of the rows of the same token table without any block, and our encoder with the three sets of random weights, these on every fourth pair to save time.

# %%
def rank_correlation(similarity, step=1):
    """Spearman's, on every `step`-th pair."""
    return float(spearmanr(similarity, judged[::step]).statistic)


def score(v, step=1):
    """Of sentence vectors, two for each pair."""
    return rank_correlation(F.cosine_similarity(v[::2], v[1::2]), step)


few = [text for row in rows[::4] for text in row[:2]]
sets = [set(pieces(text)[1:-1]) for text in texts]
scores = {"common pieces": [rank_correlation(
    [len(a & b) / len(a | b) for a, b in zip(sets[::2], sets[1::2])])]}
scores["random weights (1 pair of 4)"] = [
    score(sentence_vectors(through(net), few), 4) for net in untrained]
scores["token table"] = [score(sentence_vectors(
    lambda ids, lens: pretrained.token_embedding(ids), texts))]
both = ours.unflatten(0, (-1, 2))  # (pairs, 2, d)
scores["encoder (1 pair of 4)"] = [score(both[::4].flatten(0, 1), 4)]
scores["encoder"] = [score(ours)]
for name, each in scores.items():
    print(f"{name}:", *(f"{rho:.3f}" for rho in each))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.2, 2.2))
for row, (name, each) in enumerate(scores.items()):
    ax.barh(row, sum(each) / len(each), color="#0072B2", height=0.6)
    ax.scatter(each, [row] * len(each), color="black", s=12, zorder=3)
ax.set(yticks=range(len(scores)), yticklabels=scores, xlim=(0, 1),
       xlabel="Spearman correlation with judgements")
ax.invert_yaxis()
d2l.describe(ax, """Five bars of the rank correlation with human judgements:
    common pieces, random weights, the token table of MiniLM, and the
    encoder on a quarter of the pairs and on all; its two bars are the
    longest.""")

# %% [markdown]
# **Figure 15.8.6.** Rank correlation with the judgements on the test pairs of STS-B, all of them or every fourth; bars are means, dots single models.
#
# On all 1379 pairs the encoder reaches 0.82; on every fourth one it is above 0.8, too, and all controls stay below 0.6.
# The controls are far above 0, random weights too, so a correlation of 0.4 would be no sign of anything learned.
# The table alone is no match for the table with its blocks, with which it was trained; what a table can do that was trained to be used alone is another question ([Section 15.4](04-word2vec-pretraining.ipynb) trains such tables).
# And the test is not far from MiniLM's training: its model card lists SNLI, MultiNLI and the captions of Flickr30k and COCO, and a part of the benchmark is captions of pictures and videos.

# %%
# check 15.8-C8: pretrained weights beat overlap, table and random weights
full_run = num_pairs >= 1379 and num_seeds >= 3
if real and full_run:
    assert 0.822 < scores["encoder"][0] < 0.826 and len(rows) == 1379
    assert scores["encoder (1 pair of 4)"][0] > 0.8
    assert all(rho < 0.6 for name, each in scores.items()
               for rho in each if not name.startswith("encoder"))
    assert all(0.35 < rho < 0.55
               for rho in scores["random weights (1 pair of 4)"])

# %% [markdown]
# ## After BERT
#
# The authors of RoBERTa (Liu and others, 2019) found that BERT had been undertrained: with more data, larger batches, longer training, longer sequences, masks drawn anew each time, a byte-level vocabulary, and without next sentence prediction, the same kind of encoder scored higher.
# DeBERTa gave content and position vectors of their own in attention; DeBERTaV3 (He and others, 2021) also replaced the task by that of ELECTRA (Clark and others, 2020): it detects tokens that another network has put in.
# ModernBERT (Warner and others, 2024) rebuilds the block from parts that decoders had meanwhile adopted: normalization before each part, no biases, rotary positions, and a gated network (GeGLU), which multiplies GELU of one projection by another one.
# Two of three layers attend only within a window of 128 tokens, every third one to the whole input, of up to 8192 tokens.
# Padding is removed before the computation, the training data were two trillion tokens, and there is no next sentence prediction.
#
# What of that is the design?
# ModernBERT's authors compare models that were trained on different data.
# Antoun and others (2025) trained ModernBERT on the French text of a DeBERTaV3: the older design needed fewer samples and scored higher overall, ModernBERT was faster and took longer texts.
# The study still calls its design an improvement on BERT and RoBERTa.
#
# Our block in its manner has `apply_rope` of [Section 11.6](../11-attention-and-transformers/06-self-attention-and-positions.ipynb) for the positions.
# It is a miniature: a local layer computes all scores and discards the far ones, which shows the wiring, not the speed.

# %% tags=["export"]
class ModernBlock(nn.Module):
    """A block in the manner of ModernBERT (Warner et al., 2024).

    Norms before the parts, no biases, rotary positions, a gated network with
    `ffn` units (GeGLU). `d` is the width, a multiple of 2 * `heads`. With
    `window` a token sees only those up to window // 2 places away.
    """

    def __init__(self, d, heads, ffn, window=None, base=10000.0):
        super().__init__()
        if d % (2 * heads) or window is not None and window < 0:
            raise ValueError(
                f"d is {d}, heads {heads}, window {window}; d must be a "
                "multiple of 2 * heads, and window None or at least 0.")
        self.heads, self.window, self.base = heads, window, base
        self.norm_1, self.norm_2 = (
            nn.LayerNorm(d, bias=False) for _ in range(2))
        self.W_qkv = nn.Linear(d, 3 * d, bias=False)
        self.W_o = nn.Linear(d, d, bias=False)
        self.W_in = nn.Linear(d, 2 * ffn, bias=False)
        self.W_out = nn.Linear(ffn, d, bias=False)

    def visible(self, steps, valid_lens, device):
        """Which keys a query sees: booleans (n or 1, 1, steps, steps)."""
        at = torch.arange(steps, device=device)
        far = (at[:, None] - at).abs()  # (steps, steps)
        seen = (far <= (steps if self.window is None else self.window // 2)
                )[None, None]
        if valid_lens is not None:  # padding sees itself, which harms nobody
            real = at < valid_lens.reshape(-1, 1, 1, 1)
            seen = seen & (real | (far == 0))
        return seen

# %% tags=["export"]
@add_to_class(ModernBlock)
def forward(self, X, valid_lens=None, start=0):
    """(n, steps, d), as X, whose first token stands at position `start`.

    Keys from `valid_lens` (n,) on are padding; by default none is.
    """
    steps = X.shape[1]
    q, k, v = self.W_qkv(self.norm_1(X)).unflatten(
        2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
    at = torch.arange(start, start + steps, device=X.device)
    q, k = (apply_rope(part, at, self.base) for part in (q, k))
    Y = F.scaled_dot_product_attention(  # (n, heads, steps, d / heads)
        q, k, v, attn_mask=self.visible(steps, valid_lens, X.device))
    X = X + self.W_o(Y.transpose(1, 2).flatten(2))
    Y, gate = self.W_in(self.norm_2(X)).chunk(2, dim=-1)
    return X + self.W_out(F.gelu(Y) * gate)

# %%
def slow_block(block, X):
    """The same for one text (steps, d), a head and a query at a time."""
    d, size = X.shape[1], X.shape[1] // block.heads
    Y = F.layer_norm(X, (d,), block.norm_1.weight)
    q, k, v = (Y @ W.T for W in block.W_qkv.weight.split(d))
    found = torch.zeros_like(X)
    for h in range(block.heads):
        part = slice(h * size, (h + 1) * size)
        at = torch.arange(len(X))
        q_h, k_h = (apply_rope(each[:, part], at, block.base)
                    for each in (q, k))
        for i in range(len(X)):
            near = slice(max(0, i - block.window // 2),
                         i + block.window // 2 + 1)
            scores = k_h[near] @ q_h[i] / math.sqrt(size)
            found[i, part] = scores.softmax(dim=0) @ v[near, part]
    X = X + found @ block.W_o.weight.T
    Y = F.layer_norm(X, (d,), block.norm_2.weight) @ block.W_in.weight.T
    Y, gate = Y.chunk(2, dim=1)
    return X + (F.gelu(Y) * gate) @ block.W_out.weight.T


torch.manual_seed(4)
block = ModernBlock(16, 2, 24, window=5, base=100.0)
for norm in (block.norm_1, block.norm_2):
    nn.init.normal_(norm.weight)
X = torch.randn(9, 16)
with torch.inference_mode():
    torch.testing.assert_close(block(X[None])[0], slow_block(block, X))

# %% [markdown]
# How far does a stack of local blocks see?
# The gradient of output $i$ with respect to input $j$ is exactly zero if no path leads from $j$ to $i$.
# With window $w$ one block reaches $\lfloor w/2\rfloor$ places to each side, and $L$ of them $L\lfloor w/2\rfloor$.

# %%
def influence(blocks, steps=25, d=16, seed=0):
    """Gradient norms: projected output i with respect to input j."""
    X, r = torch.randn(2, steps, d, generator=torch.Generator().manual_seed(
        seed), dtype=torch.float64)
    X = X[None].requires_grad_()
    Y = X
    for block in blocks:
        Y = block(Y)
    return torch.stack([torch.autograd.grad(
        Y[0, i] @ r[0], X, retain_graph=True)[0][0].norm(dim=1)
        for i in range(steps)])  # (steps, steps)


torch.manual_seed(5)
windows = {"1 local": [4], "2 local": [4] * 2, "3 local": [4] * 3,
           "2 local, 1 global": [4, 4, None]}
reach = {name: influence([ModernBlock(16, 2, 24, window).double()
                          for window in each])
         for name, each in windows.items()}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(7.6, 2.3), sharey=True)
for ax, (name, each) in zip(axes, reach.items()):
    shown = each.clamp(min=1e-6).log10().numpy()
    image = ax.imshow(shown, cmap="Blues", vmin=-6, vmax=0)
    ax.set(title=name, xlabel="input")
    ax.grid(False)
axes[0].set_ylabel("output")
fig.colorbar(image, ax=axes, label="log10 of the norm", shrink=0.8)
d2l.describe(axes, """Four matrices, output by input, of gradient norms. With
    one, two and three local blocks the colored band around the diagonal is
    2, 4 and 6 places wide to each side, and white outside. With two local
    blocks and a global one, no place is white.""")

# %% [markdown]
# **Figure 15.8.7.** Norm of the gradient of one random projection of each output with respect to each input, for stacks of untrained blocks with a window of 4; white is zero (or below $10^{-6}$).

# %%
# check 15.8-C9: zero beyond the window; L blocks reach L times as far
far = (torch.arange(25)[:, None] - torch.arange(25)).abs()
for L, name in enumerate(list(windows)[:3], 1):
    assert torch.equal(reach[name] > 0, far <= 2 * L)
assert (reach["2 local, 1 global"] > 0).all()

# %%
# check 15.8-C9, continued: only differences of positions count
torch.manual_seed(6)
blocks = [ModernBlock(16, 2, 24, window) for window in (4, None)]
old = BERTEncoder(30, 16, 24, 2, 2, max_len=200).eval()
ids, X = torch.randint(30, (2, 12)), torch.randn(2, 12, 16)


def stack(X, start=0, lens=None):
    for block in blocks:
        X = block(X, lens, start=start)
    return X


with torch.inference_mode():
    shifted = [(stack(X) - stack(X, start=100)).abs().max()]
    before = old(ids)
    old.pos_embedding.weight.copy_(old.pos_embedding.weight.roll(-100, 0))
    shifted.append((before - old(ids)).abs().max())
    shifted.append((stack(X) - stack(X, start=10**8)).abs().max())
print("moved by 100 places, outputs change by "
      f"{shifted[0]:.0e} (rotary), {shifted[1]:.2f} (learned)")
print(f"moved by 10**8 places: {shifted[2]:.2f} (rotary)")
assert shifted[0] < 1e-4 and shifted[1] > 0.1 and shifted[2] > 0.01

# %% [markdown]
# Moved by 100 places, the rotary blocks give the same outputs up to rounding; the encoder with a learned table adds other rows of it and gives others.
# The third number is the limit of the arithmetic, not of the idea: the angles are computed in float32, which cannot tell neighboring positions apart at $10^8$.

# %% tags=["hide-input"]
# check: order matters to rotary blocks, padding does not; sizes and errors
lens = torch.tensor([5, 12])
changed = X.clone()
changed[0, 5:] = 9.0
with torch.inference_mode():
    one, two = stack(X, lens=lens), stack(changed, lens=lens)
    order = torch.randperm(12)
    mixed = blocks[1](X[:, order])  # global: only positions tell the order
    plain = blocks[1](X)[:, order]
    alone, full = stack(X[:1, :5]), stack(X)
for block in blocks:  # each row has a key, so no softmax is over nothing
    assert block.visible(12, lens, X.device).any(dim=3).all()
assert torch.isfinite(one).all() and torch.equal(one[0, :5], two[0, :5])
torch.testing.assert_close(one[1], full[1])
torch.testing.assert_close(one[:1, :5], alone)
assert (mixed - plain).abs().max() > 0.01
assert blocks[0].norm_1.bias is None
for bad in ((10, 4, 8, None), (6, 2, 8, None), (8, 2, 8, -1)):
    try:
        ModernBlock(*bad)
        raise AssertionError(f"{bad} was accepted")
    except ValueError as error:
        assert f"d is {bad[0]}" in str(error)
for bad in (ids, ids[0, :5]):  # beyond max_len; without a batch
    try:
        BERTEncoder(30, 16, 24, 2, 1, max_len=8)(bad)
        raise AssertionError(f"{tuple(bad.shape)} was accepted")
    except ValueError as error:
        assert f"{tuple(bad.shape)}; give" in str(error)
        assert "max_len = 8" in str(error)

# %% [markdown]
# ## Summary
#
# - BERT's input is a sum of three learned tables; without the one for positions, its encoder cannot tell the order of the words within a text.
# - Each token sees both sides in every layer, so the next token is no task; training asks for 15 % of the tokens, most of them hidden; the decoder that scores the words shares the token table.
# - The head for pairs reads only the vector of `<cls>`, through a pooler.
# - Small initial weights make the first loss nearly $\log V$; with a token table of deviation 1 it was more than twice as large here.
# - The formula for the parameters matches the built models and a published file, whose weights, run in our class, gave what PyTorch's layers gave on 40 sentences, up to rounding.
# - Local layers reach half a window per block; with rotary positions the outputs depend only on differences of positions, up to rounding.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.8-1
#
# Does a masked language model need more steps than one that reads from left to right?
# Count how many predictions each gets from a text of 128 tokens; what does the count settle, and what did the authors of BERT measure?

# %% [markdown]
# #### Solution 15.8-1

# %% [markdown]
# Masked: about $0.15\cdot128\approx19$; from left to right: 127, between six and seven times as many.
# Counting cannot settle the question, for it says nothing about the worth of each prediction.
# The paper measured it by fine-tuning after different numbers of steps: the masked model converges slightly more slowly than the one from left to right, but is more accurate on MultiNLI almost from the beginning.

# %%
ids = torch.randint(5, 1000, (400, 128))
_, labels = mask_tokens(ids, 4, 1000, range(4),
                        generator=torch.Generator().manual_seed(8))
masked = (labels != -100).double().sum(dim=1)  # in each text
causal = torch.full((400,), 127.0)  # all but the first
print(f"{masked.mean():.1f} and {causal.mean():.0f} predictions per text")
assert abs(masked.mean() - 19.2) < 0.8
assert 6 < causal.mean() / masked.mean() < 7.2

# %% [markdown]
# ### Exercise 15.8-2
#
# Compute the derivative of GELU at $-1$ by hand and by autograd, and compare with ReLU.
# Where is the derivative of GELU negative?

# %% [markdown]
# #### Solution 15.8-2

# %% [markdown]
# $\mathrm{GELU}'(x)=\Phi(x)+x\varphi(x)$ with the normal density $\varphi$; at $-1$ this is $0.1587-0.2420=-0.0833$, while ReLU has 0.
# So a unit whose inputs are negative can still learn, though hardly where this derivative is near 0: around $-0.75$, and far below (at $-4$ it is $-0.0005$).
# The derivative is negative below the minimum at about $-0.75$, and tends to 0 from below.

# %%
x = torch.tensor([-1.0, -0.75, -0.7, 1.0], dtype=torch.float64,
                 requires_grad=True)
(slope,) = torch.autograd.grad(F.gelu(x).sum(), x)
normal = torch.distributions.Normal(0.0, 1.0)
formula = normal.cdf(x) + x * normal.log_prob(x).exp()
torch.testing.assert_close(slope, formula)
print([round(each, 4) for each in slope.tolist()])
assert round(slope[0].item(), 4) == -0.0833
grid = torch.linspace(-6, 3, 9001, dtype=torch.float64, requires_grad=True)
(along,) = torch.autograd.grad(F.gelu(grid).sum(), grid)
turn = grid[along < 0].max().item()
print(f"negative below {turn:.3f}")
assert -0.76 < turn < -0.75 and (along[grid < turn] < 0).all()
assert torch.autograd.grad(F.relu(x).sum(), x)[0][0] == 0

# %% [markdown]
# ### Exercise 15.8-3
#
# Which share of BERT-base is its token table?
# At which number of blocks of this width would the table be half of the model?

# %% [markdown]
# #### Solution 15.8-3

# %% [markdown]
# $30\,522\cdot768=23\,440\,896$, which is 21.4 % of the model.
# A block has about 7.1 million, so with three blocks the table is a little more than half of the model, with four less.

# %%
V, H, L, inside = sizes["base"]
with torch.device("meta"):
    base = BERTModel(V, H, inside, 12, L)
table = base.encoder.token_embedding.weight.numel()
share = table / count_params(nn.ModuleList([base.encoder, base.pooler]))
print(f"{table:,}: {share:.1%}")
assert table == 23_440_896 and round(share, 3) == 0.214
halves = [table / bert_param_count(V, H, n, inside) for n in range(1, 6)]
print([f"{half:.2f}" for half in halves])
assert halves[2] > 0.5 > halves[3]

# %% [markdown]
# ### Exercise 15.8-4
#
# Write the masks of GPT and of BERT as matrices, and give both to our encoder through `valid_lens`.
# Then check the claim about "bank" above.

# %% [markdown]
# #### Solution 15.8-4

# %% [markdown]
# GPT's matrix has ones on and below the diagonal; row $i$ has $i+1$ ones, which is what `valid_lens` of shape $(n,T)$ says.
# BERT's has ones in every column that is not padding.
# The attention weights of the encoder are positive exactly where the matrix has ones.

# %%
torch.manual_seed(9)
net = BERTEncoder(12, 16, 32, 2, 2, max_len=9).eval()
words = "i went to the bank deposit cash sit down".split()
first, second = (torch.tensor([[words.index(word) for word in text.split()]])
                 for text in ("i went to the bank to deposit cash",
                              "i went to the bank to sit down"))
steps = first.shape[1]
rows = torch.arange(1, steps + 1)[None]  # (1, steps)
with torch.inference_mode():
    for lens, mask in ((rows, attention_pattern("causal", n_tgt=steps)),
                       (None, attention_pattern("encoder", n_src=steps))):
        gap = (net(first, None, lens) - net(second, None, lens)).norm(dim=2)
        for seen in net.attention_weights:
            assert torch.equal(seen[0] > 0, mask.bool().expand_as(seen[0]))
        print(f"the vectors of bank differ by {gap[0, 4]:.3f}")
        assert (gap[0, 4] == 0) == (lens is not None)
        assert gap[0, -1] > 0.01

# %% [markdown]
# ### Exercise 15.8-5
#
# ModernBERT-base has 22 layers of width 768 with 1152 units in the gated network, a vocabulary of 50,368, no biases, a normalization after the token table and one at the end, and none before the first attention.
# Count its parameters without the head, by formula and by building it from `ModernBlock`.

# %% [markdown]
# #### Solution 15.8-5

# %% [markdown]
# A block has $4\cdot768^2+3\cdot768\cdot1152+2\cdot768=5\,015\,040$ parameters, and the whole 149,014,272.
# There is no table of positions.

# %%
with torch.device("meta"):
    blocks = nn.ModuleList(
        ModernBlock(768, 12, 1152, None if i % 3 == 0 else 128)
        for i in range(22))
    blocks[0].norm_1 = nn.Identity()
    modern = nn.ModuleList([
        nn.Embedding(50_368, 768), nn.LayerNorm(768, bias=False), blocks,
        nn.LayerNorm(768, bias=False)])
block = 4 * 768**2 + 3 * 768 * 1152 + 2 * 768
formula = 50_368 * 768 + 22 * block - 768 + 2 * 768
print(f"{count_params(blocks[1]):,} in a block, {formula:,} in all")
assert count_params(blocks[1]) == block
assert count_params(modern) == formula == 149_014_272

# %% [markdown]
# ## Sources
#
# - J. Devlin, M.-W. Chang, K. Lee and K. Toutanova, BERT: pre-training of deep bidirectional Transformers for language understanding, 2019, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805): the model; the ablations of training steps and of masking are in its appendix C.
# - B. McCann, J. Bradbury, C. Xiong and R. Socher, Learned in translation: contextualized word vectors, 2017, [arXiv:1708.00107](https://arxiv.org/abs/1708.00107).
# - M. E. Peters et al., Deep contextualized word representations, 2018, [arXiv:1802.05365](https://arxiv.org/abs/1802.05365): ELMo.
# - A. Radford, K. Narasimhan, T. Salimans and I. Sutskever, Improving language understanding by generative pre-training, 2018, [report](https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf): GPT.
# - D. Hendrycks and K. Gimpel, Gaussian error linear units, 2016, [arXiv:1606.08415](https://arxiv.org/abs/1606.08415).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai/chapter_natural-language-processing-pretraining/bert.html): "crane" and "bank", and the demonstration with flattened vectors.
# - N. Reimers and I. Gurevych, Sentence-BERT: sentence embeddings using Siamese BERT-networks, 2019, [arXiv:1908.10084](https://arxiv.org/abs/1908.10084).
# - Sentence Transformers, *paraphrase-MiniLM-L3-v2*, [model card](https://huggingface.co/sentence-transformers/paraphrase-MiniLM-L3-v2): the weights and their training data.
# - D. Cer, M. Diab, E. Agirre, I. Lopez-Gazpio and L. Specia, SemEval-2017 task 1, 2017, [arXiv:1708.00055](https://arxiv.org/abs/1708.00055): the STS benchmark.
# - Y. Liu et al., RoBERTa: a robustly optimized BERT pretraining approach, 2019, [arXiv:1907.11692](https://arxiv.org/abs/1907.11692).
# - K. Clark, M.-T. Luong, Q. V. Le and C. D. Manning, ELECTRA: pre-training text encoders as discriminators rather than generators, 2020, [arXiv:2003.10555](https://arxiv.org/abs/2003.10555).
# - P. He, J. Gao and W. Chen, DeBERTaV3, 2021, [arXiv:2111.09543](https://arxiv.org/abs/2111.09543).
# - B. Warner et al., Smarter, better, faster, longer: a modern bidirectional encoder, 2024, [arXiv:2412.13663](https://arxiv.org/abs/2412.13663): ModernBERT.
# - W. Antoun, B. Sagot and D. Seddah, ModernBERT or DeBERTaV3? Examining architecture and data influence on transformer encoder models performance, 2025, [arXiv:2504.08716](https://arxiv.org/abs/2504.08716).
