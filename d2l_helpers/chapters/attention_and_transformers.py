"""Chapter 11, Attention mechanisms and Transformers: what its sections teach and later ones use.

Generated from book/11-attention-and-transformers/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import math
import matplotlib.pyplot as plt
import torch
from collections import Counter
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.modern_rnns import Decoder
from d2l_helpers.chapters.modern_rnns import Encoder
from d2l_helpers.chapters.modern_rnns import GRU
from d2l_helpers.chapters.modern_rnns import init_seq2seq
from torch import nn
from torch.nn import functional as F


# 11.1 Queries, keys, and values
def attend(query, keys, values, score):
    """The value (v,) that attention finds, and its weights (m,).

    `query` is (d,), `keys` (m, k), `values` (m, v); `score(query, keys)`
    gives one number for each key, and softmax turns these into weights.
    """
    weights = torch.softmax(score(query, keys), dim=-1)
    return weights @ values, weights


# 11.1 Queries, keys, and values
def show_heatmaps(matrices, xlabel="", ylabel="", titles=None, figsize=None,
                  cmap="Reds"):
    """Draw matrices (rows, cols, queries, keys) in a grid, one scale.

    `titles` has one title for each column. Returns the array of axes.
    """
    matrices = torch.as_tensor(matrices).detach().float().cpu()
    rows, cols = matrices.shape[:2]
    fig, axes = plt.subplots(
        rows, cols, figsize=figsize or (2.4 * cols, 2.4 * rows),
        sharex=True, sharey=True, squeeze=False, layout="constrained")
    low, high = matrices.min().item(), matrices.max().item()
    for i, row in enumerate(matrices):
        for j, matrix in enumerate(row):
            image = axes[i, j].imshow(matrix.numpy(), cmap=cmap,
                                      vmin=low, vmax=high)
            axes[i, j].grid(False)
            axes[i, j].locator_params(integer=True)
            if i == rows - 1:
                axes[i, j].set_xlabel(xlabel)
            if j == 0:
                axes[i, j].set_ylabel(ylabel)
            if titles is not None and i == 0:
                axes[i, j].set_title(titles[j])
    fig.colorbar(image, ax=axes, shrink=0.6)
    return axes


# 11.2 Attention pooling by similarity
def nadaraya_watson(x_train, y_train, x_query, kernel):
    """Predictions (Q,) or (Q, v), and weights (Q, N), without training.

    `kernel` maps the differences of queries and keys, (Q, N) for numbers
    and (Q, N, d) for vectors, to similarities (Q, N). A query to which
    no key is similar gets NaN.
    """
    weights = kernel(x_query[:, None] - x_train[None])
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights @ y_train, weights


# 11.3 Attention scoring functions
def masked_softmax(scores, valid_lens=None):
    """Softmax over the keys, with weight 0 beyond the valid lengths.

    `scores` is (n, queries, keys), `valid_lens` (n,), one for each example,
    or (n, queries). A row without a valid key has weights 0.
    """
    if valid_lens is None:
        return torch.softmax(scores, dim=-1)
    lens = valid_lens.reshape(len(scores), -1, 1)  # (n, 1 or queries, 1)
    steps = torch.arange(scores.shape[-1], device=scores.device)
    masked = steps >= lens  # (n, 1 or queries, keys)
    low = torch.finfo(scores.dtype).min  # -inf makes NaN of an empty row
    weights = torch.softmax(scores.masked_fill(masked, low), dim=-1)
    return weights.masked_fill(masked, 0)


# 11.3 Attention scoring functions
class DotProductAttention(nn.Module):
    """Scaled dot-product attention; `attention_weights` keeps the last."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def project(self, keys):
        """The keys as `score` wants them; they need it only once."""
        return keys

    def score(self, queries, keys):
        """Scores (n, queries, keys)."""
        return queries @ keys.mT / math.sqrt(queries.shape[-1])

    def pool(self, scores, values, valid_lens=None):
        """Means (n, queries, v) of the values (n, keys, v)."""
        weights = masked_softmax(scores, valid_lens)
        self.attention_weights = weights.detach()
        return self.dropout(weights) @ values

    def forward(self, queries, keys, values, valid_lens=None):
        """(n, queries, v), for (n, queries, d), (n, keys, d), (n, keys, v).

        `valid_lens` is (n,), (n, queries) or None.
        """
        return self.pool(self.score(queries, self.project(keys)), values,
                         valid_lens)


# 11.3 Attention scoring functions
class AdditiveAttention(DotProductAttention):
    """Attention whose score is a small network of query and key."""

    def __init__(self, query_size, key_size, num_hiddens, dropout=0.0):
        super().__init__(dropout)
        self.W_q = nn.Linear(query_size, num_hiddens, bias=False)
        self.W_k = nn.Linear(key_size, num_hiddens, bias=False)
        self.w_v = nn.Linear(num_hiddens, 1, bias=False)

    def project(self, keys):
        """Keys (n, keys, num_hiddens)."""
        return self.W_k(keys)

    def score(self, queries, keys):
        """Scores (n, queries, keys) of queries and *projected* keys."""
        features = self.W_q(queries).unsqueeze(2) + keys.unsqueeze(1)
        return self.w_v(torch.tanh(features)).squeeze(-1)


# 11.4 The Bahdanau attention mechanism
class AttentionDecoder(Decoder):
    """A decoder that can tell where it looked."""

    @property
    def attention_weights(self):
        """The weights of the last forward pass."""
        raise NotImplementedError("define attention_weights")


# 11.4 The Bahdanau attention mechanism
class Seq2SeqAttentionDecoder(AttentionDecoder):
    """A GRU that looks at all states of the encoder before each step.

    `score` is "additive" or "dot". The encoder's state must have
    `num_layers` layers of `num_hiddens` units.
    """

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers,
                 dropout=0, score="additive"):
        super().__init__()
        if score == "additive":
            self.attention = AdditiveAttention(num_hiddens, num_hiddens,
                                               num_hiddens, dropout)
        elif score == "dot":
            self.attention = DotProductAttention(dropout)
        else:
            raise ValueError(f'score is {score!r}; use "additive" or "dot".')
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = GRU(embed_size + num_hiddens, num_hiddens, num_layers,
                       dropout)
        self.dense = nn.Linear(num_hiddens, vocab_size)
        self.apply(init_seq2seq)

    @property
    def attention_weights(self):
        """Weights (n, T', T) of the last forward pass."""
        return torch.cat(self.weights, dim=1)


# 11.4 The Bahdanau attention mechanism
@add_to_class(Seq2SeqAttentionDecoder)
def init_state(self, enc_all_outputs, enc_valid_lens=None):
    """Encoder states (n, T, h), first state, valid lengths, keys."""
    outputs, hidden = enc_all_outputs
    values = outputs.transpose(0, 1)
    return values, hidden, enc_valid_lens, self.attention.project(values)

@add_to_class(Seq2SeqAttentionDecoder)
def query(self, hidden):
    """The top layer's state (n, 1, h) of a state (layers, n, h)."""
    return hidden[-1].unsqueeze(1)

@add_to_class(Seq2SeqAttentionDecoder)
def forward(self, X, state):
    """Scores (n, T', vocab_size) and the new state for X (n, T')."""
    values, hidden, valid_lens, keys = state
    outputs, self.weights = [], []
    for x in self.embedding(X.T):  # (n, embed_size)
        context = self.attention.pool(
            self.attention.score(self.query(hidden), keys), values,
            valid_lens)  # (n, 1, h)
        step = torch.cat((context.squeeze(1), x), dim=1)
        out, hidden = self.rnn(step.unsqueeze(0), hidden)
        outputs.append(out)
        self.weights.append(self.attention.attention_weights)
    scores = self.dense(torch.cat(outputs).transpose(0, 1))
    return scores, (values, hidden, valid_lens, keys)


# 11.4 The Bahdanau attention mechanism
def reversal_task(batch_size, length, num_symbols=10, generator=None):
    """Digits to read and the same from right to left.

    A batch as `Seq2Seq` takes it: source (n, length), decoder input and
    labels (n, length), valid lengths (n,). Symbols are 0 to num_symbols - 1;
    the input begins with num_symbols.
    """
    src = torch.randint(num_symbols, (batch_size, length),
                        generator=generator)
    label = src.flip(1)
    bos = torch.full((batch_size, 1), num_symbols)
    return (src, torch.cat((bos, label[:, :-1]), dim=1),
            torch.full((batch_size,), length), label)


# 11.5 Multi-head attention
class MultiHeadAttention(nn.Module):
    """Attention in `num_heads` subspaces at once.

    Queries, keys and values have `num_hiddens` features, divided among
    the heads; `num_kv_heads` of them (all by default) have keys and values of
    their own, and the others share these.
    """

    def __init__(self, num_hiddens, num_heads, dropout=0.0, bias=False,
                 num_kv_heads=None):
        super().__init__()
        num_kv_heads = num_kv_heads or num_heads
        if num_hiddens % num_heads or num_heads % num_kv_heads:
            raise ValueError(
                f"num_hiddens is {num_hiddens}, num_heads {num_heads}, "
                f"num_kv_heads {num_kv_heads}; each must be divisible by "
                "the next.")
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        kv_size = num_hiddens // num_heads * num_kv_heads
        self.attention = DotProductAttention(dropout)
        self.W_q = nn.Linear(num_hiddens, num_hiddens, bias=bias)
        self.W_k = nn.Linear(num_hiddens, kv_size, bias=bias)
        self.W_v = nn.Linear(num_hiddens, kv_size, bias=bias)
        self.W_o = nn.Linear(num_hiddens, num_hiddens, bias=bias)

    @property
    def attention_weights(self):
        """Weights (n, num_heads, queries, keys) of the last call."""
        weights = self.attention.attention_weights
        return weights.reshape(-1, self.num_heads, *weights.shape[1:])


# 11.5 Multi-head attention
@add_to_class(MultiHeadAttention)
def transpose_qkv(self, X, num_heads):
    """(n, steps, d) -> (n * num_heads, steps, d / num_heads)."""
    X = X.reshape(*X.shape[:2], num_heads, -1).transpose(1, 2)
    return X.flatten(0, 1)

@add_to_class(MultiHeadAttention)
def transpose_output(self, X):
    """The reverse, for `num_heads` heads."""
    X = X.reshape(-1, self.num_heads, *X.shape[1:]).transpose(1, 2)
    return X.flatten(2)


# 11.5 Multi-head attention
@add_to_class(MultiHeadAttention)
def forward(self, queries, keys, values, valid_lens=None):
    """(n, queries, num_hiddens); valid_lens is (n,) or (n, queries)."""
    groups = self.num_heads // self.num_kv_heads
    queries = self.transpose_qkv(self.W_q(queries), self.num_heads)
    keys, values = (
        self.transpose_qkv(X, self.num_kv_heads).repeat_interleave(
            groups, dim=0)
        for X in (self.W_k(keys), self.W_v(values)))
    if valid_lens is not None:
        valid_lens = valid_lens.repeat_interleave(self.num_heads, dim=0)
    heads = self.attention(queries, keys, values, valid_lens)
    return self.W_o(self.transpose_output(heads))


# 11.6 Self-attention and positional encoding
def sinusoids(num_steps, num_hiddens, base=10000.0):
    """Sines and cosines of the positions: (num_steps, num_hiddens).

    Columns 2j and 2j + 1 turn by base**(-2j / num_hiddens) per step.
    """
    steps = torch.arange(num_steps, dtype=torch.float64)
    pairs = torch.arange(0, num_hiddens, 2, dtype=torch.float64)
    angles = torch.outer(steps, base ** (-pairs / num_hiddens))
    P = torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
    return P[:, :num_hiddens]  # an odd width ends with a sine


class PositionalEncoding(nn.Module):
    """Adds sines and cosines of the position; then dropout.

    The codes are no parameters and not stored with the model's state.
    """

    def __init__(self, num_hiddens, dropout=0.0, max_len=1000):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        P = sinusoids(max_len, num_hiddens).to(torch.get_default_dtype())
        self.register_buffer("P", P, persistent=False)

    def forward(self, X, offset=0):
        """X (n, steps, d) plus the codes of positions from `offset` on."""
        end = offset + X.shape[1]
        if end > len(self.P):
            raise ValueError(f"position {end - 1} is beyond max_len = "
                             f"{len(self.P)}; make the encoding longer.")
        return self.dropout(X + self.P[offset:end])


# 11.6 Self-attention and positional encoding
def apply_rope(x, positions, base=10000.0):
    """Rotate each pair (2j, 2j + 1) of x (..., steps, d) by its angle.

    The angle is the position, an entry of `positions` (steps,), times
    base**(-2j / d), computed in float32; d is even.
    """
    d = x.shape[-1]
    rates = base ** (-torch.arange(0, d, 2, device=x.device) / d)
    angles = positions.to(x.device)[:, None] * rates  # (steps, d / 2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos),
                       dim=-1).flatten(-2)


# 11.6 Self-attention and positional encoding
def linear_attention(q, k, v):
    """Causal attention without softmax, as a recurrence: outputs (n, d_v).

    q and k are (n, d), v is (n, d_v); the features are elu + 1.
    """
    q, k = F.elu(q) + 1, F.elu(k) + 1
    S, z = v.new_zeros(k.shape[1], v.shape[1]), v.new_zeros(k.shape[1])
    outputs = []
    for q_i, k_i, v_i in zip(q, k, v):
        S, z = S + torch.outer(k_i, v_i), z + k_i
        outputs.append(q_i @ S / (q_i @ z))
    return torch.stack(outputs)


# 11.7 The Transformer architecture
class PositionWiseFFN(nn.Module):
    """The same network of two layers at every position."""

    def __init__(self, num_hiddens, ffn_num_hiddens, ffn_num_outputs):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(num_hiddens, ffn_num_hiddens), nn.ReLU(),
            nn.Linear(ffn_num_hiddens, ffn_num_outputs))

    def forward(self, X):
        """(n, steps, ffn_num_outputs)."""
        return self.net(X)


# 11.7 The Transformer architecture
class AddNorm(nn.Module):
    """Layer normalization of a sum, whose second part gets dropout."""

    def __init__(self, norm_shape, dropout):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.ln = nn.LayerNorm(norm_shape)

    def forward(self, X, Y):
        """The normalized sum of X and Y, which have the same shape."""
        return self.ln(X + self.dropout(Y))


# 11.7 The Transformer architecture
class Sublayer(AddNorm):
    """A residual connection around a part of a block.

    With `norm_first` the part reads a normalized input, and the sum is left
    as it is.
    """

    def __init__(self, num_hiddens, dropout, norm_first=False):
        super().__init__(num_hiddens, dropout)
        self.norm_first = norm_first

    def forward(self, X, part):
        if self.norm_first:
            return X + self.dropout(part(self.ln(X)))
        return super().forward(X, part(X))


# 11.7 The Transformer architecture
class TransformerEncoderBlock(nn.Module):
    """Self-attention and a position-wise network."""

    def __init__(self, num_hiddens, ffn_num_hiddens, num_heads, dropout,
                 use_bias=False, norm_first=False):
        super().__init__()
        self.attention = MultiHeadAttention(num_hiddens, num_heads, dropout,
                                            use_bias)
        self.ffn = PositionWiseFFN(num_hiddens, ffn_num_hiddens, num_hiddens)
        self.sublayers = nn.ModuleList(
            Sublayer(num_hiddens, dropout, norm_first) for _ in range(2))

    def forward(self, X, valid_lens=None):
        """(n, steps, num_hiddens), as X."""
        X = self.sublayers[0](
            X, lambda Y: self.attention(Y, Y, Y, valid_lens))
        return self.sublayers[1](X, self.ffn)


# 11.7 The Transformer architecture
class TransformerEncoder(Encoder):
    """Embedding, positions and blocks; returns (n, steps, num_hiddens).

    The embedding has variance 1 / num_hiddens, so that its product with the
    root of num_hiddens is of the size of the positions.
    """

    def __init__(self, vocab_size, num_hiddens, ffn_num_hiddens, num_heads,
                 num_blks, dropout, use_bias=False, norm_first=False):
        super().__init__()
        self.num_hiddens = num_hiddens
        self.embedding = nn.Embedding(vocab_size, num_hiddens)
        nn.init.normal_(self.embedding.weight, std=num_hiddens ** -0.5)
        self.pos_encoding = PositionalEncoding(num_hiddens, dropout)
        self.blks = nn.ModuleList(
            TransformerEncoderBlock(num_hiddens, ffn_num_hiddens, num_heads,
                                    dropout, use_bias, norm_first)
            for _ in range(num_blks))
        self.ln = nn.LayerNorm(num_hiddens) if norm_first else nn.Identity()

    def forward(self, X, valid_lens=None):
        X = self.pos_encoding(self.embedding(X)
                              * math.sqrt(self.num_hiddens))
        for blk in self.blks:
            X = blk(X, valid_lens)
        return self.ln(X)

    @property
    def attention_weights(self):
        """A tensor (n, heads, steps, steps) for each block."""
        return [blk.attention.attention_weights for blk in self.blks]


# 11.7 The Transformer architecture
class TransformerDecoderBlock(nn.Module):
    """Causal self-attention, attention to the source, and a network."""

    def __init__(self, num_hiddens, ffn_num_hiddens, num_heads, dropout,
                 use_bias=False, norm_first=False):
        super().__init__()
        self.self_attention, self.cross_attention = (
            MultiHeadAttention(num_hiddens, num_heads, dropout, use_bias)
            for _ in range(2))
        self.ffn = PositionWiseFFN(num_hiddens, ffn_num_hiddens, num_hiddens)
        self.sublayers = nn.ModuleList(
            Sublayer(num_hiddens, dropout, norm_first) for _ in range(3))

    def forward(self, X, enc_outputs, enc_valid_lens=None, past=None):
        """(n, steps, num_hiddens), and all inputs so far as the next past.

        `past` (n, t, num_hiddens) are the inputs of earlier calls; X
        continues them.
        """
        seen = 0 if past is None else past.shape[1]
        past = X if past is None else torch.cat((past, X), dim=1)
        steps = torch.arange(seen + 1, past.shape[1] + 1, device=X.device)
        up_to = steps.expand(len(X), -1)  # each sees itself and the past

        def attend(Y):
            before = (self.sublayers[0].ln(past)
                      if self.sublayers[0].norm_first else past)
            return self.self_attention(Y, before, before, up_to)

        X = self.sublayers[0](X, attend)
        X = self.sublayers[1](X, lambda Y: self.cross_attention(
            Y, enc_outputs, enc_outputs, enc_valid_lens))
        return self.sublayers[2](X, self.ffn), past


# 11.7 The Transformer architecture
class TransformerDecoder(AttentionDecoder):
    """Embedding, positions, blocks and scores of the next token.

    The state is (encoder outputs, their valid lengths, one cache for each
    block); the caches tell how many tokens there were before.
    """

    def __init__(self, vocab_size, num_hiddens, ffn_num_hiddens, num_heads,
                 num_blks, dropout, use_bias=False, norm_first=False):
        super().__init__()
        self.num_hiddens, self.num_blks = num_hiddens, num_blks
        self.embedding = nn.Embedding(vocab_size, num_hiddens)
        nn.init.normal_(self.embedding.weight, std=num_hiddens ** -0.5)
        self.pos_encoding = PositionalEncoding(num_hiddens, dropout)
        self.blks = nn.ModuleList(
            TransformerDecoderBlock(num_hiddens, ffn_num_hiddens, num_heads,
                                    dropout, use_bias, norm_first)
            for _ in range(num_blks))
        self.ln = nn.LayerNorm(num_hiddens) if norm_first else nn.Identity()
        self.dense = nn.Linear(num_hiddens, vocab_size)

    @property
    def attention_weights(self):
        """Weights to the own past and to the source, a list for each."""
        return ([blk.self_attention.attention_weights for blk in self.blks],
                [blk.cross_attention.attention_weights for blk in self.blks])


# 11.7 The Transformer architecture
@add_to_class(TransformerDecoder)
def init_state(self, enc_all_outputs, enc_valid_lens=None):
    """The state before the first token."""
    return enc_all_outputs, enc_valid_lens, [None] * self.num_blks


@add_to_class(TransformerDecoder)
def forward(self, X, state):
    """Scores (n, steps, vocab_size) and the new state."""
    enc_outputs, enc_valid_lens, caches = state
    seen = 0 if caches[0] is None else caches[0].shape[1]
    X = self.pos_encoding(
        self.embedding(X) * math.sqrt(self.num_hiddens), seen)
    grown = []
    for blk, past in zip(self.blks, caches, strict=True):
        X, past = blk(X, enc_outputs, enc_valid_lens, past)
        grown.append(past)
    return self.dense(self.ln(X)), (enc_outputs, enc_valid_lens, grown)


# 11.8 Transformers for vision
class PatchEmbedding(nn.Module):
    """Images (n, c, h, w) as vectors (n, patches, num_hiddens)."""

    def __init__(self, img_size, patch_size, num_hiddens, channels=1):
        super().__init__()
        if img_size % patch_size:
            raise ValueError(f"img_size {img_size} is not divisible by "
                             f"patch_size {patch_size}.")
        self.num_patches = (img_size // patch_size) ** 2
        self.conv = nn.Conv2d(channels, num_hiddens, kernel_size=patch_size,
                              stride=patch_size)

    def forward(self, X):
        return self.conv(X).flatten(2).transpose(1, 2)


# 11.8 Transformers for vision
class ViTMLP(nn.Module):
    """Two layers with GELU, and dropout after both."""

    def __init__(self, num_hiddens, mlp_num_hiddens, dropout):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(num_hiddens, mlp_num_hiddens), nn.GELU(),
            nn.Dropout(dropout), nn.Linear(mlp_num_hiddens, num_hiddens),
            nn.Dropout(dropout))

    def forward(self, X):
        return self.net(X)


# 11.8 Transformers for vision
class ViTBlock(nn.Module):
    """Attention and a small network, each behind a normalization."""

    def __init__(self, num_hiddens, mlp_num_hiddens, num_heads, dropout,
                 use_bias=False):
        super().__init__()
        self.ln1, self.ln2 = (nn.LayerNorm(num_hiddens) for _ in range(2))
        self.attention = MultiHeadAttention(num_hiddens, num_heads, dropout,
                                            use_bias)
        self.mlp = ViTMLP(num_hiddens, mlp_num_hiddens, dropout)

    def forward(self, X, valid_lens=None):
        Y = self.ln1(X)
        X = X + self.attention(Y, Y, Y, valid_lens)
        return X + self.mlp(self.ln2(X))


# 11.8 Transformers for vision
class ViT(Classifier):
    """A Transformer encoder on patches; scores (n, num_classes).

    `pool` is "cls", the output at an extra token, or "mean", over patches.
    """

    def __init__(self, img_size, patch_size, num_hiddens, mlp_num_hiddens,
                 num_heads, num_blks, emb_dropout=0.1, blk_dropout=0.1,
                 lr=0.001, use_bias=False, num_classes=10, channels=1,
                 pool="cls"):
        super().__init__()
        self.save_hyperparameters()
        if pool not in ("cls", "mean"):
            raise ValueError(f'pool is {pool!r}; use "cls" or "mean".')
        self.patch_embedding = PatchEmbedding(img_size, patch_size,
                                              num_hiddens, channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, num_hiddens))
        length = self.patch_embedding.num_patches + 1
        self.pos_embedding = nn.Parameter(
            0.02 * torch.randn(1, length, num_hiddens))
        self.dropout = nn.Dropout(emb_dropout)
        self.blks = nn.ModuleList(
            ViTBlock(num_hiddens, mlp_num_hiddens, num_heads, blk_dropout,
                     use_bias) for _ in range(num_blks))
        self.head = nn.Sequential(nn.LayerNorm(num_hiddens),
                                  nn.Linear(num_hiddens, num_classes))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


# 11.8 Transformers for vision
@add_to_class(ViT)
def tokens(self, X):
    """Equation (11.8.1) for each image: (n, patches + 1, num_hiddens)."""
    X = self.patch_embedding(X)
    X = torch.cat((self.cls_token.expand(len(X), -1, -1), X), dim=1)
    return X + self.pos_embedding

@add_to_class(ViT)
def forward(self, X):
    X = self.dropout(self.tokens(X))
    for blk in self.blks:
        X = blk(X)
    return self.head(X[:, 0] if self.pool == "cls" else
                     X[:, 1:].mean(dim=1))


# 11.9 Large-scale pretraining with Transformers
def attention_pattern(kind, n_src=0, n_tgt=0):
    """Who sees whom: booleans (queries, keys).

    "encoder": all n_src tokens see all; "causal": n_tgt tokens see
    themselves and the past; "prefix": n_src tokens see each other, n_tgt
    more see them and their own past; "encoder-decoder": the same pattern,
    of two stacks.
    """
    n = {"encoder": n_src, "causal": n_tgt}.get(kind, n_src + n_tgt)
    pattern = torch.ones(n, n, dtype=torch.bool)
    if kind == "encoder":
        return pattern
    if kind not in ("causal", "prefix", "encoder-decoder"):
        raise ValueError(f'kind is {kind!r}; use "encoder", "causal", '
                         '"prefix" or "encoder-decoder".')
    pattern = pattern.tril()
    if kind != "causal":
        pattern[:n_src, :n_src] = True
    return pattern


# 11.9 Large-scale pretraining with Transformers
def mask_tokens(ids, mask_id, vocab_size, special=(), p=0.15,
                generator=None):
    """Inputs and labels for masked language modelling, shaped as `ids`.

    A share `p` of the tokens is chosen, never one in `special`; of these
    80 % become `mask_id`, 10 % a random token, 10 % stay. Labels are the
    tokens where one was chosen, and -100 elsewhere.
    """
    def draw():
        return torch.rand(ids.shape, generator=generator)

    allowed = ~torch.isin(ids, torch.tensor([*special, mask_id]))
    chosen, fate = (draw() < p) & allowed, draw()
    noise = torch.randint(vocab_size, ids.shape, generator=generator)
    inputs = torch.where(chosen & (fate < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (fate >= 0.9), noise, inputs)
    return inputs, torch.where(chosen, ids, -100)


# 11.9 Large-scale pretraining with Transformers
SENTINELS = [f"<{letter}>" for letter in "XYZABCDEFGHIJKLMNOPQRSTUVW"]


def span_corrupt(tokens, spans):
    """Input and target, two lists, for a list of tokens.

    `spans` are pairs (start, end), in order and without overlap. Each
    becomes a sentinel in the input, and follows that sentinel in the target;
    one more sentinel ends the target.
    """
    if len(spans) >= len(SENTINELS):  # the last one ends the target
        raise ValueError(f"{len(spans)} spans; at most "
                         f"{len(SENTINELS) - 1} have sentinels.")
    inputs, target, last = [], [], 0
    for sentinel, (start, end) in zip(SENTINELS, spans):
        if not last <= start < end <= len(tokens):
            raise ValueError(f"span ({start}, {end}) is empty, overlaps or "
                             f"leaves the {len(tokens)} tokens.")
        inputs += [*tokens[last:start], sentinel]
        target += [sentinel, *tokens[start:end]]
        last = end
    return inputs + tokens[last:], target + [SENTINELS[len(spans)]]


# 11.9 Large-scale pretraining with Transformers
def shift_for_lm(ids, num_prompt=0):
    """Inputs and labels (n, steps - 1) for predicting the next of `ids`.

    Labels that belong to the first `num_prompt` tokens are -100.
    """
    labels = ids[:, 1:].clone()
    labels[:, :max(num_prompt - 1, 0)] = -100
    return ids[:, :-1], labels


# 11.9 Large-scale pretraining with Transformers
def train_flops(num_params, num_tokens):
    """Operations of training, 6 for each parameter and token."""
    return 6 * num_params * num_tokens


# 11.9 Large-scale pretraining with Transformers
def scaling_loss(num_params, num_tokens, law):
    """Loss of equation (11.9.4) for `law` = (E, A, alpha, B, beta)."""
    E, A, alpha, B, beta = law
    return E + A / num_params**alpha + B / num_tokens**beta


def compute_optimal(flops, law):
    """Parameters and tokens of the lowest loss for so many operations."""
    _, A, alpha, B, beta = law
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    num_params = G * (flops / 6) ** (beta / (alpha + beta))
    return num_params, flops / (6 * num_params)


# 11.10 A small GPT, trained and sampled
def merge(symbols, pair):
    """`symbols`, a tuple, with each occurrence of `pair` made one."""
    if pair[0] not in symbols:
        return symbols
    merged, i = [], 0
    while i < len(symbols):
        if symbols[i:i + 2] == pair:
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return tuple(merged)


class BPETokenizer:
    """Byte-pair encoding of words over the characters of a text.

    `merges` lists the pairs in the order of learning, `vocab` the symbols.
    A word ends with "_", which the text must not contain; of pairs that
    are equally frequent the first in the alphabet is merged.
    """

    def __init__(self):
        self.merges, self.vocab = [], []

    def count_pairs(self, words):
        """How often each pair of neighbors occurs; words have counts."""
        pairs = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        return pairs


# 11.10 A small GPT, trained and sampled
@add_to_class(BPETokenizer)
def train(self, text, num_merges):
    """Learn `num_merges` pairs (fewer, if none is left); self."""
    words = Counter(text.split())
    words = {(*word, "_"): count for word, count in words.items()}
    self.merges = []
    self.base = sorted({symbol for word in words for symbol in word})
    for _ in range(num_merges):
        pairs = self.count_pairs(words)
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        self.merges.append(best)
        words = {merge(word, best): count for word, count in words.items()}
    self.ranks = {pair: i for i, pair in enumerate(self.merges)}
    self.vocab = self.base + [a + b for a, b in self.merges]
    self.index = {symbol: i for i, symbol in enumerate(self.vocab)}
    return self


# 11.10 A small GPT, trained and sampled
def apply_merges(symbols, ranks):
    """Merge the pair of lowest rank in a tuple, until none has a rank."""
    while len(symbols) > 1:
        pair = min(zip(symbols, symbols[1:]),
                   key=lambda pair: ranks.get(pair, math.inf))
        if pair not in ranks:
            break
        symbols = merge(symbols, pair)
    return symbols


@add_to_class(BPETokenizer)
def encode(self, text):
    """A list of indices; spaces between words are not told apart."""
    known, ids = {}, []
    for word in text.split():
        if word not in known:
            symbols = apply_merges((*word, "_"), self.ranks)
            unknown = [s for s in symbols if s not in self.index]
            if unknown:
                raise ValueError(
                    f"{unknown[0]!r} of {word!r} was not in the training "
                    "text; train on a text that has it.")
            known[word] = [self.index[symbol] for symbol in symbols]
        ids += known[word]
    return ids


@add_to_class(BPETokenizer)
def decode(self, ids):
    """The text, with one space between words."""
    return "".join(self.vocab[i] for i in ids).replace("_", " ").rstrip()


# 11.10 A small GPT, trained and sampled
class RMSNorm(nn.Module):
    """Divide by the root of the mean square; scale each feature."""

    def __init__(self, num_hiddens, eps=1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(num_hiddens))

    def forward(self, X):
        scale = torch.rsqrt(X.square().mean(dim=-1, keepdim=True) + self.eps)
        return X * scale * self.weight


class SwiGLU(nn.Module):
    """A gated network of three matrices, without biases."""

    def __init__(self, num_hiddens, ffn_num_hiddens):
        super().__init__()
        self.W_1, self.W_3 = (
            nn.Linear(num_hiddens, ffn_num_hiddens, bias=False)
            for _ in range(2))
        self.W_2 = nn.Linear(ffn_num_hiddens, num_hiddens, bias=False)

    def forward(self, X):
        return self.W_2(F.silu(self.W_1(X)) * self.W_3(X))


# 11.10 A small GPT, trained and sampled
class GPTBlock(nn.Module):
    """Causal attention with rotary positions, and a gated network."""

    def __init__(self, d, heads, kv_heads, qk_norm=False):
        super().__init__()
        if d % heads or heads % kv_heads or d // heads % 2:
            raise ValueError(
                f"d is {d}, heads {heads}, kv_heads {kv_heads}; d must be an "
                "even multiple of heads, and heads a multiple of kv_heads.")
        self.heads, self.kv_heads, self.size = heads, kv_heads, d // heads
        self.norm_1, self.norm_2 = RMSNorm(d), RMSNorm(d)
        self.W_q = nn.Linear(d, d, bias=False)
        self.W_k, self.W_v = (
            nn.Linear(d, kv_heads * self.size, bias=False) for _ in range(2))
        self.W_o = nn.Linear(d, d, bias=False)
        self.norm_q, self.norm_k = (
            RMSNorm(self.size) if qk_norm else nn.Identity()
            for _ in range(2))
        self.ffn = SwiGLU(d, 16 * math.ceil(8 * d / 3 / 16))

    def split(self, X, heads):
        """(n, steps, heads * size) -> (n, heads, steps, size)."""
        return X.unflatten(2, (heads, self.size)).transpose(1, 2)

    def place(self, X, where):
        """Queries or keys (n, heads, steps, size), with their positions."""
        return apply_rope(X, where)

    def visible(self, where, keys):
        """Which keys a query may see: (queries, keys), of positions."""
        return keys <= where[:, None]


# 11.10 A small GPT, trained and sampled
@add_to_class(GPTBlock)
def forward(self, X, past=None, start=None):
    """(n, steps, d), and keys and values of all steps so far.

    `past` are those of the steps before X, each (n, kv_heads, t, size).
    X begins at position `start`, by default t; `past` ends before it.
    """
    Y, seen = self.norm_1(X), 0 if past is None else past[0].shape[2]
    start = seen if start is None else start
    where = torch.arange(start, start + X.shape[1], device=X.device)
    q = self.norm_q(self.split(self.W_q(Y), self.heads))
    k = self.norm_k(self.split(self.W_k(Y), self.kv_heads))
    q, k = self.place(q, where), self.place(k, where)
    v = self.split(self.W_v(Y), self.kv_heads)
    if past is not None:
        k, v = (torch.cat(pair, dim=2) for pair in zip(past, (k, v)))
    keys = torch.arange(start - seen, start + X.shape[1], device=X.device)
    Y = F.scaled_dot_product_attention(
        q, k, v, attn_mask=self.visible(where, keys),
        enable_gqa=self.heads > self.kv_heads)
    X = X + self.W_o(Y.transpose(1, 2).flatten(2))
    return X + self.ffn(self.norm_2(X)), (k, v)


# 11.10 A small GPT, trained and sampled
class GPT(Classifier):
    """A decoder-only model: scores (n, steps, vocab_size) of the next token.

    The matrix of the embedding is that of the output layer too. Positions
    are relative, so it reads up to `max_len` tokens, whatever length it was
    trained on.
    """

    block = GPTBlock

    def __init__(self, vocab_size, d=64, heads=4, layers=2, kv_heads=None,
                 max_len=1024, lr=0.008, qk_norm=False):
        super().__init__()
        self.save_hyperparameters()
        self.embedding = nn.Embedding(vocab_size, d)
        self.blks = nn.ModuleList(
            self.block(d, heads, kv_heads or heads, qk_norm)
            for _ in range(layers))
        self.norm = RMSNorm(d)
        for name, param in self.named_parameters():
            if param.ndim == 2:
                last = name.endswith(("W_o.weight", "W_2.weight"))
                nn.init.normal_(param, std=0.5 / math.sqrt(
                    d * (2 * layers if last else 1)))

    def embed(self, X, start):
        """Vectors (n, steps, d) of tokens from position `start` on."""
        return self.embedding(X)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


# 11.10 A small GPT, trained and sampled
@add_to_class(GPT)
def extend(self, X, pasts, start=None):
    """Scores for X (n, steps) after `pasts`, and the pasts with X.

    X begins at position `start`, by default after all that `pasts` hold.
    """
    if start is None:
        start = 0 if pasts[0] is None else pasts[0][0].shape[2]
    if start + X.shape[1] > self.max_len:
        raise ValueError(f"{start + X.shape[1]} tokens are more than "
                         f"max_len = {self.max_len}.")
    X, grown = self.embed(X, start), []
    for blk, past in zip(self.blks, pasts, strict=True):
        X, past = blk(X, past, start)
        grown.append(past)
    return self.norm(X) @ self.embedding.weight.T, grown


@add_to_class(GPT)
def forward(self, X):
    return self.extend(X, [None] * self.layers)[0]


# 11.10 A small GPT, trained and sampled
def warmup_cosine(optimizer, steps, warmup=0.1):
    """Scale the rate at each step of `optimizer`, which is returned.

    It rises for a share `warmup` of the steps, and falls along a cosine.
    """
    def factor(t):
        return min((t + 1) / (warmup * steps),
                   (1 + math.cos(math.pi * t / steps)) / 2)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    return optimizer


class TokenWindows(DataModule):
    """Random windows of `train` (T,), `steps` batches; all of `val`.

    The windows of `val` do not overlap; a shorter rest is left out.
    """

    def __init__(self, train, val, batch_size, num_steps, steps):
        super().__init__()
        self.save_hyperparameters(ignore=["train", "val"])
        self.train = train.unfold(0, num_steps + 1, 1)
        self.val = val.unfold(0, num_steps + 1, num_steps)

    def get_dataloader(self, train):
        if not train:
            return d2l.BatchLoader((self.val[:, :-1], self.val[:, 1:]), 256)
        rows = torch.randint(
            len(self.train), (self.steps * self.batch_size,),
            generator=self.generator)
        windows = self.train[rows]
        return d2l.BatchLoader((windows[:, :-1], windows[:, 1:]),
                               self.batch_size)


# 11.10 A small GPT, trained and sampled
def bits_per_char(loss, chars_per_token):
    """Bits for each character, from nats for each token."""
    return loss / math.log(2) / chars_per_token


# 11.10 A small GPT, trained and sampled
def next_probs(scores, temperature=1.0, top_k=None, top_p=None):
    """Probabilities (..., vocab_size) from which the next token is drawn.

    `temperature=0` puts all on the most probable one. `top_k` keeps so many
    tokens, `top_p` the fewest whose probabilities reach this sum.
    """
    if temperature == 0:
        return F.one_hot(scores.argmax(dim=-1), scores.shape[-1]).float()
    probs = torch.softmax(scores / temperature, dim=-1)
    ordered, index = probs.sort(dim=-1, descending=True)
    if top_k is not None:
        ordered[..., top_k:] = 0
        ordered = ordered / ordered.sum(dim=-1, keepdim=True)
    if top_p is not None:
        before = ordered.cumsum(dim=-1) - ordered
        ordered = torch.where(before < top_p, ordered, 0.0)
    probs = torch.zeros_like(probs).scatter(-1, index, ordered)
    return probs / probs.sum(dim=-1, keepdim=True)


# 11.10 A small GPT, trained and sampled
def generate(model, ids, n, temperature=1.0, top_k=None, top_p=None,
             cache=True, generator=None, keep=None):
    """`ids` (batch, steps) and n more tokens, (batch, steps + n).

    `generator` lives on the CPU. Without `cache` all tokens are read anew
    for each. With `keep` at least 2 a new token sees itself and the keep - 1
    before it, which needs the cache.
    """
    was_training = model.training
    model.eval()
    pasts, new = [None] * model.layers, ids
    with torch.no_grad():
        for _ in range(n):
            if cache:
                scores, pasts = model.extend(new, pasts,
                                             ids.shape[1] - new.shape[1])
                if keep is not None:
                    pasts = [tuple(Z[:, :, 1 - keep:] for Z in past)
                             for past in pasts]
            else:
                scores = model(ids)
            probs = next_probs(scores[:, -1].cpu(), temperature, top_k, top_p)
            new = torch.multinomial(probs, 1, generator=generator).to(
                ids.device)
            ids = torch.cat((ids, new), dim=1)
    model.train(was_training)
    return ids
