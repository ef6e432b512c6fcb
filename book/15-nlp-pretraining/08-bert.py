# ---
# jupyter:
#   d2l:
#     data: []
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
# # 15.8 Bidirectional encoder representations from Transformers (BERT)
#
# TODO: the question, in two or three sentences.
#
# **You will**
#
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
#
# **Cost**: TODO: time and memory on a CPU, downloads, use of a GPU.

# %%
import math

import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    TransformerEncoderBlock, apply_rope)
from d2l_helpers.chapters.linear_regression import add_to_class

d2l.use_style()

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

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

# %% tags=["export"]
def init_bert(module):
    """Small random weights for a layer; give it to `Module.apply`.

    Weights of linear layers and tables get a standard deviation of 0.02,
    biases become 0 (Devlin et al., 2019, without cutting off the tails).
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
        segments = tokens * 0 if segments is None else segments
        return self.dropout(self.ln(X + self.segment_embedding(segments)))

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

    @property
    def attention_weights(self):
        """Of the last call, a tensor (n, heads, steps, steps) a block."""
        return [blk.attention.attention_weights for blk in self.blks]

# %% tags=["export"]
class MaskLM(nn.Module):
    """Scores of the vocabulary at chosen positions.

    `tied` is the `nn.Embedding` (vocab_size, num_hiddens) whose weight the
    last layer shares; without it that layer has a weight of its own.
    """

    def __init__(self, vocab_size, num_hiddens, tied=None):
        super().__init__()
        self.transform = nn.Sequential(
            nn.Linear(num_hiddens, num_hiddens), nn.GELU(),
            nn.LayerNorm(num_hiddens, eps=1e-12))
        self.decoder = nn.Linear(num_hiddens, vocab_size)
        if tied is not None:
            if tied.weight.shape != self.decoder.weight.shape:
                raise ValueError(
                    f"tied has a weight {tuple(tied.weight.shape)}; it must "
                    f"be {(vocab_size, num_hiddens)}, (vocab_size, "
                    "num_hiddens).")
            self.decoder.weight = tied.weight
        self.apply(init_bert)

    def forward(self, X, pred_positions):
        """(n, k, vocab_size), for X (n, steps, d) and positions (n, k)."""
        if pred_positions.dim() != 2 or len(pred_positions) != len(X):
            raise ValueError(
                f"pred_positions has the shape {tuple(pred_positions.shape)} "
                f"for {len(X)} texts; give {len(X)} rows of positions.")
        chosen = torch.take_along_dim(X, pred_positions[:, :, None], dim=1)
        return self.decoder(self.transform(chosen))  # chosen is (n, k, d)

# %% tags=["export"]
class NextSentencePred(nn.Module):
    """Two scores for a pair of texts, from the pooled vector of "<cls>".

    Column 1 stands for "b follows a", column 0 for "b is from elsewhere".
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
# check 15.8-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C7: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C8: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.8-C9: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.8-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.8-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.8-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.8-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.8-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.8-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.8-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.8-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.8-5
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.8-5

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
