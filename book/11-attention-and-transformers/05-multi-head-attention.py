# ---
# jupyter:
#   d2l:
#     profiles:
#       gpu:
#         bench_steps: 512
#         num_gpus: 1
#       smoke:
#         bench_steps: 32
#         num_epochs: 1
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
# # 11.5 Multi-head attention
#
# Attention answers a query with one weighted mean, so a query that needs two different things from two places gets a mixture of them.
# *Multi-head attention* runs several small attentions side by side, each on its own learned projection of queries, keys and values, with no more parameters than one large attention.
# What can two heads do that one cannot, however wide, and what does it cost to keep their keys and values?
#
# **You will**
#
# - prove that one head fails on a small task, and measure that two solve it;
# - implement multi-head attention with one product for all heads and match `nn.MultiheadAttention`;
# - take a layer apart into what each head adds to the output, and switch heads off;
# - shrink the stored keys and values by sharing them among heads or compressing them.
#
# **Cost**: about ten seconds on a CPU; nothing is downloaded.

# %%
import time
from contextlib import contextmanager
from itertools import combinations

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    DotProductAttention, show_heatmaps)
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.linear_classification import Classifier, predict
from d2l_helpers.chapters.linear_regression import DataModule, add_to_class
from d2l_helpers.chapters.modern_cnns import fit_quietly

d2l.use_style()

# %% tags=["parameters"]
num_epochs = 5  # of 32 steps each
num_seeds = 3
bench_steps = 256  # queries and keys, in Exercise 11.5-4
num_gpus = 0  # 1: use an accelerator, if there is one

# %% [markdown]
# ## One mean is not enough
#
# ![Queries, keys and values enter two heads. Each head projects all three, attends, and gives a vector of half the width. The two vectors are stacked and multiplied by an output matrix.](img/heads-concat.svg)
#
# **Figure 11.5.1.** Multi-head attention with two heads.
# Each head has its own projections, so one can look at a neighbor while another looks far back, for different features.
#
# Take a small task.
# Eight symbols, each of one of eight kinds, stand in a circle, and each position has to report two of them: the symbol on its left and the one on its right.
# Let queries and keys depend on the position only, values on the symbol only, and let a linear layer read the two answers from the output.
#
# One head returns $\mathbf{o}=\alpha\mathbf{v}_\text{left}+\beta\mathbf{v}_\text{right}+\mathbf{r}$, where $\alpha,\beta\ge0$ are its weights on the two neighbors, $\mathbf{v}$ the values there, and $\mathbf{r}$ the share of all other positions.
# Choose two symbols $a$ and $b$, and four sequences that differ in the two neighbors only: $(a,b)$, $(b,a)$, $(a,a)$ and $(b,b)$.
# The *left* answer prefers $a$ to $b$ if the difference of two linear scores is positive.
# With $f_a$ and $f_b$ for what $\mathbf{v}_a$ and $\mathbf{v}_b$ contribute to this difference and $c$ for the rest, correct answers mean
#
# $$\underbrace{\alpha f_a+\beta f_b+c>0}_{(a,b)},\qquad\underbrace{\alpha f_b+\beta f_a+c<0}_{(b,a)},\qquad\underbrace{(\alpha+\beta)f_a+c>0}_{(a,a)},\qquad\underbrace{(\alpha+\beta)f_b+c<0}_{(b,b)}. \tag{11.5.1}$$
#
# Subtracting the second from the first gives $(\alpha-\beta)(f_a-f_b)>0$, and the fourth from the third $(\alpha+\beta)(f_a-f_b)>0$.
# Together they force $\alpha>\beta$.
# The *right* answer has the same inequalities with the roles of $\alpha$ and $\beta$ exchanged, which force $\beta>\alpha$.
# So at least one of the eight answers is wrong, whatever the width and the training.
#
# For $\alpha=0.7$, $\beta=0.3$, $f_a=1$, $f_b=-1$ and $c=0$, the four sequences have the left differences $0.4,-0.4,1,-1$, all with the correct sign.
# The symbols on the right are $b$, $a$, $a$, $b$ at the same four points of a line, and no threshold separates these.

# %%
is_a = {"left": torch.tensor([True, False, True, False]),
        "right": torch.tensor([False, True, True, False])}


def separable(points, is_a):
    """Whether a threshold separates the two kinds, either way round."""
    a, b = points[is_a], points[~is_a]
    return bool(a.min() > b.max() or b.min() > a.max())


for alpha in torch.linspace(0, 1, 21).tolist():
    mix = 2 * alpha - 1  # alpha f_a + beta f_b, for beta = 1 - alpha
    points = torch.tensor([mix, -mix, 1, -1])  # (a,b) (b,a) (a,a) (b,b)
    for sign in (1, -1):  # f_a > f_b or f_a < f_b
        assert separable(sign * points, is_a["left"]) == (alpha > 0.5)
        assert separable(sign * points, is_a["right"]) == (alpha < 0.5)

# %% [markdown]
# Two heads escape: one puts its weight on the left, the other on the right, and their results stand side by side.
# The proof holds for a linear readout and weights that do not depend on the symbols.
# With a nonlinear readout, one head can be enough (Exercise 11.5-6); weights that look at the symbols are not covered either.
#
# ## The model
#
# For a query $\mathbf{q}\in\mathbb{R}^{d_q}$, keys $\mathbf{k}\in\mathbb{R}^{d_k}$ and values $\mathbf{v}\in\mathbb{R}^{d_v}$, head $i$ of $h$ computes
#
# $$\mathbf{h}_i=f(\mathbf{W}_i^{(q)}\mathbf{q},\mathbf{W}_i^{(k)}\mathbf{k},\mathbf{W}_i^{(v)}\mathbf{v})\in\mathbb{R}^{p_v},\qquad i=1,\dots,h, \tag{11.5.2}$$
#
# where $f$ is attention over all keys and values, and $\mathbf{W}_i^{(q)}\in\mathbb{R}^{p_q\times d_q}$, $\mathbf{W}_i^{(k)}\in\mathbb{R}^{p_k\times d_k}$ and $\mathbf{W}_i^{(v)}\in\mathbb{R}^{p_v\times d_v}$ are learned.
# The heads are stacked and mixed by one more learned matrix $\mathbf{W}_o\in\mathbb{R}^{p_o\times hp_v}$:
#
# $$\mathbf{y}=\mathbf{W}_o\begin{bmatrix}\mathbf{h}_1\\\vdots\\\mathbf{h}_h\end{bmatrix}\in\mathbb{R}^{p_o}. \tag{11.5.3}$$
#
# As $f$ we take the scaled dot product ([Section 11.3](03-attention-scoring.ipynb)), which has no parameters of its own.
# With $d_q=d_k=d_v=p_o=d$ and the usual choice $p_q=p_k=p_v=d/h=p$, the $h$ query matrices together are $d\times d$, like those of keys, values and output.
# This gives $4d^2$ parameters for every $h$, 40,000 for $d=100$.
# The scores of $n$ queries and $m$ keys take $nmp$ multiplications in each head, $nmd$ in all.
# What does grow with $h$ is the number of attention weights, $hnm$.
#
# A head pays with rank.
# Its score is $\mathbf{q}^\top\mathbf{W}_i^{(q)\top}\mathbf{W}_i^{(k)}\mathbf{k}/\sqrt p$, a bilinear form whose matrix is $d\times d$ but has rank at most $p$.
# Bhojanapalli and others (2020) call this a low-rank bottleneck and propose a head size that does not depend on the number of heads.
#
# ## All heads in one product
#
# Instead of looping over heads, we apply one $d\times d$ projection and cut its output into $h$ pieces.
# No head needs another's result, so a piece of an example can be treated as an example of its own: the batch becomes $h$ times as large, and `DotProductAttention` need not know about heads.
# The option `num_kv_heads` lets several heads share keys and values; we use it below.

# %% tags=["export"]
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

# %% [markdown]
# ![A matrix of four steps and four features. Splitting the columns gives each head two features of every step. A plain reshape to the same shape gives the first head the first two steps and the second head the last two.](img/heads-split.svg)
#
# **Figure 11.5.2.** Cutting four steps of four features into two heads.
# Both results have shape $2\times4\times2$, but the plain reshape gives head 1 the steps 1 and 2, each cut in two, and head 2 the others.
#
# The width must be split first, into heads and features, and then the axis of heads moved in front of the steps.

# %% tags=["export"]
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

# %% tags=["slide"]
# check 11.5-C2: there and back; head i gets columns 2i and 2i + 1
generator = torch.Generator().manual_seed(115)
X = torch.randn(3, 5, 8, generator=generator)
four = MultiHeadAttention(8, 4)
split = four.transpose_qkv(X, 4)
assert split.shape == (12, 5, 2)
assert torch.equal(four.transpose_output(split), X)
for example in range(3):
    for i in range(4):
        assert torch.equal(split[4 * example + i],
                           X[example, :, 2 * i:2 * i + 2])

# %% [markdown]
# In the merged batch, the heads of one example are neighbors: rows $0,\dots,h-1$ belong to example 0.
# So each valid length must be repeated $h$ times in place, which is `repeat_interleave`; `repeat` would cycle through the examples and mask the wrong ones.

# %% tags=["export"]
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

# %%
# check 11.5-C1: shapes; parameters and operations for any number of heads
X, Y = (torch.randn(2, n, 100, generator=generator) for n in (4, 6))
lens = torch.tensor([3, 2])
operations, weights = [], []
for num_heads in (1, 2, 5, 10, 20):
    layer = MultiHeadAttention(100, num_heads)
    with FlopCounterMode(display=False) as counter:
        assert layer(X, Y, Y, lens).shape == (2, 4, 100)
    operations.append(counter.get_total_flops())
    weights.append(layer.attention_weights.numel())
    assert count_params(layer) == 40000
    assert layer.attention_weights.shape == (2, num_heads, 4, 6)
print(f"operations {operations}, weights {weights}")
projections, attention = 4 * 100**2 * (4 + 6), 4 * 4 * 6 * 100
assert operations == [2 * (projections + attention)] * 5  # 2 examples
assert weights == [2 * h * 4 * 6 for h in (1, 2, 5, 10, 20)]

# %% tags=["hide-input"]
# refusals; rank of a head; defaults; what the options mean
for sizes in ((100, 3), (8, 4, 0.0, False, 3), (8, 2, 0.0, False, 4)):
    try:
        MultiHeadAttention(*sizes)
        raise AssertionError(f"{sizes} was accepted")
    except ValueError as error:
        assert str(sizes[0]) in str(error) and "divisible" in str(error)
for layer, rank in ((MultiHeadAttention(8, 4), 2), (MultiHeadAttention(
        8, 2), 4), (MultiHeadAttention(8, 1), 8)):
    W_q, W_k = (W.weight[:rank] for W in (layer.W_q, layer.W_k))
    assert torch.linalg.matrix_rank(W_q.T @ W_k) == rank
    assert layer.attention.dropout.p == 0 and layer.W_o.bias is None
assert count_params(MultiHeadAttention(8, 4, bias=True)) == 4 * 64 + 4 * 8

# %% [markdown]
# ## Three ways to check it
#
# First against ourselves: one head is `DotProductAttention` between linear maps, and more heads are a loop over slices of the matrices, as in (11.5.2).

# %%
def loop_over_heads(layer, queries, keys, values, valid_lens=None):
    """Equations (11.5.2) and (11.5.3), one head after the other."""
    p = layer.W_q.weight.shape[0] // layer.num_heads
    attention, heads = DotProductAttention(), []
    for i in range(layer.num_heads):
        q, k, v = (X @ W.weight[i * p:(i + 1) * p].T for X, W in (
            (queries, layer.W_q), (keys, layer.W_k), (values, layer.W_v)))
        heads.append(attention(q, k, v, valid_lens))
    return torch.cat(heads, dim=-1) @ layer.W_o.weight.T

# %%
# check 11.5-C4: one head; a loop over five heads; both kinds of lengths
torch.manual_seed(0)
values = torch.randn(2, 6, 100, generator=generator)
by_query = torch.tensor([[1, 2, 3, 6], [4, 0, 2, 5]])
one, five = MultiHeadAttention(100, 1), MultiHeadAttention(100, 5)
single = DotProductAttention()(one.W_q(X), one.W_k(Y), one.W_v(values), lens)
torch.testing.assert_close(one(X, Y, values, lens), one.W_o(single))
for l in (None, lens, by_query):
    torch.testing.assert_close(five(X, Y, values, l),
                               loop_over_heads(five, X, Y, values, l))
assert (five(X, Y, values) - one(X, Y, values)).abs().max() > 0.1

# %% [markdown]
# Second against PyTorch.
# `nn.MultiheadAttention` keeps the three input matrices in one, `in_proj_weight` of shape $(3d,d)$.
# Its `key_padding_mask` is True where a key is to be *ignored*, the opposite of the mask of `F.scaled_dot_product_attention`, and the layer returns the mean of the weights over heads unless told not to.

# %%
def copy_to_torch(layer):
    """An `nn.MultiheadAttention` with the parameters of `layer`."""
    bias, d = layer.W_o.bias is not None, layer.W_o.out_features
    theirs = nn.MultiheadAttention(d, layer.num_heads, bias=bias,
                                   batch_first=True)
    maps = (layer.W_q, layer.W_k, layer.W_v)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([W.weight for W in maps]))
        theirs.out_proj.weight.copy_(layer.W_o.weight)
        if bias:
            theirs.in_proj_bias.copy_(torch.cat([W.bias for W in maps]))
            theirs.out_proj.bias.copy_(layer.W_o.bias)
    return theirs

# %% tags=["slide"]
# check 11.5-C3: own layer = PyTorch's, output and weights of each head
ignored = torch.arange(6) >= lens[:, None]  # (2, 6), True: ignore
for layer in (five, MultiHeadAttention(100, 4, bias=True)):
    expected, weights = copy_to_torch(layer)(
        X, Y, values, key_padding_mask=ignored, average_attn_weights=False)
    torch.testing.assert_close(layer(X, Y, values, lens), expected,
                               rtol=0, atol=1e-5)
    assert weights.shape == (2, layer.num_heads, 4, 6)
    torch.testing.assert_close(layer.attention_weights, weights,
                               rtol=0, atol=1e-5)
causal = torch.arange(1, 5).expand(2, 4)
expected = copy_to_torch(five)(
    X, X, X, attn_mask=torch.ones(4, 4).triu(1).bool())[0]
torch.testing.assert_close(five(X, X, X, causal), expected,
                           rtol=0, atol=1e-5)

# %% [markdown]
# Third, against the mistake of Figure 11.5.2.
# It is easy to make and hard to see: shapes agree, and reshaping back undoes it, so a round trip like the one above passes.
# A causal mask does not reveal it either, since the pieces stay in order and later ones remain hidden.
# But a valid length now counts pieces instead of steps, so padding gets through:

# %%
class WrongHeads(MultiHeadAttention):
    """Cuts into heads by a plain reshape. Do not use."""

    def transpose_qkv(self, X, num_heads):
        return X.reshape(len(X) * num_heads, X.shape[1], -1)

    def transpose_output(self, X):
        return X.reshape(len(X) // self.num_heads, X.shape[1], -1)


def leak(layer, X, valid_lens, step):
    """Change of each output (steps,) when one step of the input changes."""
    changed = X.clone()
    changed[:, step] += 1
    before, after = (layer(X, Z, Z, valid_lens) for Z in (X, changed))
    return (after - before).abs().amax(dim=(0, 2))

# %%
# check 11.5-C7: the wrong cut passes a round trip, fails C3, and leaks
wrong = WrongHeads(100, 5)
wrong.load_state_dict(five.state_dict())
assert torch.equal(wrong.transpose_output(wrong.transpose_qkv(X, 5)), X)
assert (wrong(X, X, X, causal) - expected).abs().max() > 0.1
short = torch.tensor([3, 2])  # the last of four steps is padding
padding = [leak(layer, X, short, 3) for layer in (five, wrong)]
print(f"influence of padding: right {padding[0].max():.2f}, "
      f"wrong {padding[1].max():.2f}")
assert padding[0].max() == 0 and padding[1].max() > 0.1
for layer in (five, wrong):  # from step 2 on: hidden from steps 0 and 1
    moved = leak(layer, X, causal, 2)
    assert moved[:2].max() == 0 and moved[2:].min() > 0.01
half = leak(five, X, torch.tensor([3, 4]), 3)  # the second may see it
assert half.min() > 0.01

# %% tags=["hide-input"]
# C7 continued: dropout in training only; stored weights without a graph
dropping = MultiHeadAttention(100, 5, dropout=0.5)
dropping.load_state_dict(five.state_dict())
torch.manual_seed(0)
noisy = [dropping(X, Y, values, lens) for _ in range(2)]
assert (noisy[0] - noisy[1]).abs().max() > 0.1 and noisy[0].requires_grad
kept = dropping.attention_weights
assert not kept.requires_grad
torch.testing.assert_close(kept.sum(dim=-1), torch.ones(2, 5, 4))
assert (kept[0, :, :, 3:] == 0).all() and (kept[1, :, :, 2:] == 0).all()
torch.testing.assert_close(dropping.eval()(X, Y, values, lens),
                           five(X, Y, values, lens))

# %% [markdown]
# ## Two heads on the task
#
# Now the circle of symbols.
# Each batch of the task has symbols (n, steps) and answers (n, steps, 2), left and right.

# %% tags=["no-slide"]
class NeighborTask(DataModule):
    """Symbols in a circle (n, 8), and the two beside each (n, 8, 2)."""

    def __init__(self, num_train=2048, num_val=1024, batch_size=64):
        super().__init__()
        self.save_hyperparameters()
        self.generator = torch.Generator().manual_seed(0)
        self.X = torch.randint(8, (num_train + num_val, 8),
                               generator=self.generator)
        self.Y = torch.stack((self.X.roll(1, 1), self.X.roll(-1, 1)), dim=2)

    def get_dataloader(self, train):
        rows = slice(None, self.num_train) if train else slice(
            self.num_train, None)
        return d2l.BatchLoader((self.X[rows], self.Y[rows]), self.batch_size,
                               shuffle=train, generator=self.generator)


data = NeighborTask()
print(data.X[0].tolist(), data.Y[0].tolist())
for i in range(8):
    assert data.Y[5, i].tolist() == [data.X[5, i - 1],
                                     data.X[5, (i + 1) % 8]]

# %% tags=["hide-input"]
# disjoint and complete parts; only the first is shuffled, by the generator
sizes, firsts = [], []
for loader in (data.train_dataloader(), data.val_dataloader()):
    batches = list(loader)
    sizes.append(sum(len(X) for X, _ in batches))
    firsts.append(batches[0][0])
assert sizes == [2048, 1024] and len(firsts[0]) == 64
assert torch.equal(firsts[1], data.X[2048:2112])
assert not torch.equal(firsts[0], data.X[:64])
orders = []
for _ in range(2):
    data.generator.manual_seed(1)
    orders.append(next(iter(data.train_dataloader()))[0])
assert torch.equal(*orders) and not torch.equal(orders[0], firsts[1])

# %%
class NeighborReader(Classifier):
    """Attention by position; scores (n, 8, 2, 8) of left and right."""

    def __init__(self, num_heads, num_hiddens=32, lr=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.embedding = nn.Embedding(8, num_hiddens)
        self.positions = nn.Parameter(torch.randn(8, num_hiddens))
        self.attention = MultiHeadAttention(num_hiddens, num_heads)
        self.dense = nn.Linear(num_hiddens, 2 * 8)

    def forward(self, X):
        P = self.positions.expand(len(X), -1, -1)  # queries and keys
        Y = self.attention(P, P, self.embedding(X))
        return self.dense(Y).unflatten(-1, (2, 8))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

# %% [markdown]
# All arms take the same number of steps of Adam with the same learning rate.
# With width 32, one, two and four heads have equally many parameters; one head of width 64 has more than three times as many.

# %% tags=["rtol=0.1"]
arms = {"1 head": (1, 32), "1 head, width 64": (1, 64),
        "2 heads": (2, 32), "4 heads": (4, 32)}
nets, untrained, accuracies = {}, {}, {}
for name, (num_heads, width) in arms.items():
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        net = nets[name, seed] = NeighborReader(num_heads, width)
        net(data.X[:1])
        untrained[name, seed] = net.attention.attention_weights[0]
        history = fit_quietly(net, data, num_epochs, seed=seed,
                              num_gpus=num_gpus)
        accuracies.setdefault(name, []).append(history["val_acc"][-1])
        assert len(history["val_acc"]) == num_epochs and net.lr == 0.01
        net.cpu()
    print(name, " ".join(f"{acc:.3f}" for acc in accuracies[name]),
          f"({count_params(net)} parameters)")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(4.8, 2.4), layout="constrained")
for row, accs in enumerate(accuracies.values()):
    ax.plot(accs, [row] * len(accs), "o", alpha=0.7, color="C0")
ax.axvline(0.5625, color="0.5", lw=1, ls=":")
ax.text(0.575, 2.5, "one side known,\nthe other guessed", fontsize=8,
        va="center", color="0.4")
ax.set(yticks=range(len(arms)), yticklabels=list(arms), xlim=(0.5, 1.02),
       xlabel="validation accuracy of the answers", ylim=(3.4, -0.4))
d2l.describe(fig, """Dots for three seeds of each arm. One head, of width 32
    or 64, stays near 0.56 to 0.62; two and four heads reach 1.""")

# %% [markdown]
# **Figure 11.5.3.** Accuracy after equal steps, one dot per seed.
# Dotted: always right about one side, and a guess at the other; this is a landmark, not a bound.

# %%
# smoke runs train too little for these
full_run = num_epochs >= 5 and num_seeds >= 3
guess = (1 + 1 / 8) / 2
assert guess == 0.5625
if full_run:
    for name in ("1 head", "1 head, width 64"):
        assert max(accuracies[name]) < guess + 0.1
        assert min(accuracies[name]) > guess - 0.1
    for name in ("2 heads", "4 heads"):
        assert min(accuracies[name]) > 0.99
wide, narrow = (count_params(nets[name, 0]) for name in (
    "1 head, width 64", "1 head"))
assert wide > 3 * narrow
assert {count_params(nets[name, 0]) for name in arms} == {wide, narrow}
for name in arms:  # each seed has a start of its own
    starts = torch.stack([untrained[name, i] for i in range(num_seeds)])
    assert len(starts[:, 0, 0, 0].unique()) == num_seeds
    torch.testing.assert_close(starts.sum(dim=-1),
                               torch.ones(num_seeds, arms[name][0], 8))

# %% [markdown]
# Two heads answered everything in all three runs, and so did four; one head stayed close to the dotted line, also with twice the width.
# Equation (11.5.1) says that no training would bring it to 1.
# Where do the heads look?

# %%
def position_weights(net):
    """Weights (heads, 8, 8) of a reader; the input is irrelevant."""
    net(data.X[:1])
    return net.attention.attention_weights[0]


seen = {name: [position_weights(nets[name, seed])
               for seed in range(num_seeds)] for name in arms}
before, after = (torch.cat((w["1 head"], w["2 heads"])) for w in (
    {name: untrained[name, 0] for name in arms},
    {name: seen[name][0] for name in arms}))

# %% tags=["hide-input", "chaotic"]
axes = show_heatmaps(
    torch.stack((before, after)), xlabel="keys", figsize=(6.4, 4.2),
    titles=["one head", "two heads: 1", "two heads: 2"])
for ax, name in zip(axes[:, 0], ("random", "trained")):
    ax.set_ylabel(f"{name}: queries")
d2l.describe(axes, """Six heat maps of weights, 8 queries by 8 keys. Random
    weights form no pattern. After training each of two heads has one dark
    diagonal, beside the main one, on opposite sides; the single head
    has its weight on one or both of these diagonals.""")

# %% [markdown]
# **Figure 11.5.4.** Weights before and after training, seed 0.
# The task is a circle, so the last query's right neighbor is the first key.

# %%
def roles(weights):
    """Mean weight on the left and the right neighbor, (heads, 2)."""
    i = torch.arange(8)
    return torch.stack([weights[:, i, (i + step) % 8].mean(dim=1)
                        for step in (-1, 1)], dim=1)


shift = torch.eye(8).roll(-1, 0)  # query i sees key i + 1
assert torch.equal(roles(torch.stack((shift, shift.T))),
                   torch.tensor([[0.0, 1], [1, 0]]))
if full_run:
    for weights in seen["1 head"] + seen["1 head, width 64"]:
        assert roles(weights).sum() > 0.7
    for weights in seen["2 heads"]:
        left, right = roles(weights).T
        assert max(left) > 0.9 and max(right) > 0.9
        assert left.argmax() != right.argmax()
    assert all((roles(w) < 0.4).all() for w in untrained.values())

# %% [markdown]
# In each of the three runs with two heads, one learned to look left and the other right; nothing but the loss told them to.
# The single heads spent most of their weight on the two neighbors, too.
# Some looked almost only to one side, and some split their weight nearly in half.
# Did those serve both sides?

# %%
def side_accuracies(net):
    """Share of correct answers on the validation part: left, right."""
    scores, labels = predict(net, data.val_dataloader())
    hits = scores.argmax(dim=-1) == labels  # (n, 8, 2)
    return hits.float().mean(dim=(0, 1))

# %% tags=["rtol=0.2"]
for name in ("1 head", "1 head, width 64"):
    for seed in range(num_seeds):
        share = roles(seen[name][seed])[0]  # (2,): left, right
        correct = side_accuracies(nets[name, seed])
        more = int(share.argmax())
        print(f"{name}, seed {seed}: more weight on the "
              f"{('left', 'right')[more]} ({share[more]:.2f}), correct "
              f"there {correct[more]:.2f}, opposite {correct[1 - more]:.2f}")
        if full_run:
            assert correct[more] > 0.8 and correct[1 - more] < 0.4
if full_run:
    mean = [side_accuracies(nets[name, seed]).mean().item()
            for name in arms for seed in range(num_seeds)]
    torch.testing.assert_close(mean, sum(accuracies.values(), []),
                               rtol=0, atol=1e-4)
    shares = torch.cat([roles(w) for w in seen["1 head"]])
    assert (shares[:, 0] - shares[:, 1]).abs().min() < 0.15  # a near tie

# %% tags=["hide-input"]
# the same at each position: more weight, more correct answers
leads, wins = [], []  # left minus right: weights, correct answers
i = torch.arange(8)
for name in ("1 head", "1 head, width 64"):
    for seed, (weights,) in enumerate(seen[name]):
        scores, labels = predict(nets[name, seed], data.val_dataloader())
        hits = (scores.argmax(dim=-1) == labels).float().mean(dim=0)
        wins.append(hits[:, 0] - hits[:, 1])
        leads.append(weights[i, i - 1] - weights[i, (i + 1) % 8])
leads, wins = torch.cat(leads), torch.cat(wins)  # (6 * 8,)
clear = leads.abs() > 0.02
if full_run:
    assert torch.equal((leads > 0)[clear], (wins > 0)[clear])

# %% [markdown]
# They did not.
# In all six runs the side with more weight, averaged over positions, got more than 80 % of its answers right and the other less than 40 %, even where the two shares were close.
# At every position where the shares differed noticeably, the side with more weight there had more correct answers.
# This is what (11.5.1) leaves: with $\alpha>\beta$, and no weight elsewhere, a readout can amplify even a small difference and serve the left, but not the right as well.
# Weight elsewhere makes it harder: for $\alpha\le1/2$, some left answers must be wrong, too (let all symbols but the left one be equal).
# Roles need not be as clean as those of two heads here.
# In a translation model, Voita and others (2019) found that the most important heads have consistent roles, often linguistic ones, and that most heads of the encoder could be pruned with little loss.
# And the warning of [Section 11.1](01-queries-keys-values.ipynb) applies: a weight shows where a head looked, not what came of it.
#
# ## What a head adds
#
# Cut $\mathbf{W}_o=[\mathbf{W}_o^{(1)}\ \cdots\ \mathbf{W}_o^{(h)}]$ into blocks of $p_v$ columns.
# The product (11.5.3) is then a sum:
#
# $$\mathbf{y}=\sum_{i=1}^h\mathbf{W}_o^{(i)}\mathbf{h}_i,\qquad\mathbf{W}_o^{(i)}\in\mathbb{R}^{p_o\times p_v}. \tag{11.5.4}$$
#
# Each head adds its own vector to the output, without a word to the others.
# Since Transformer blocks add that output to their input ([Section 11.7](07-transformer.ipynb)), Elhage and others (2021) describe a head as something that reads from and writes to a *residual stream*.

# %% tags=["slide"]
def contributions(layer, *inputs):
    """What each head adds to the output: (n, heads, queries, d)."""
    seen = []
    handle = layer.W_o.register_forward_pre_hook(
        lambda linear, args: seen.append(args[0]))
    layer(*inputs)
    handle.remove()
    heads = seen[0].unflatten(-1, (layer.num_heads, -1))  # (n, q, h, p)
    blocks = layer.W_o.weight.unflatten(1, (layer.num_heads, -1))
    return torch.einsum("nqhp,dhp->nhqd", heads, blocks)

# %%
# check 11.5-C5: stack and project = sum over heads
parts = contributions(five, X, Y, values, lens)
assert parts.shape == (2, 5, 4, 100)
torch.testing.assert_close(parts.sum(dim=1), five(X, Y, values, lens))
for i in range(5):  # each head against (11.5.2), alone in the sum
    alone = MultiHeadAttention(100, 5)
    alone.load_state_dict(five.state_dict())
    with torch.no_grad():
        alone.W_o.weight[:, :20 * i] = alone.W_o.weight[:, 20 * i + 20:] = 0
    torch.testing.assert_close(loop_over_heads(alone, X, Y, values, lens),
                               parts[:, i])
assert not five.W_o._forward_pre_hooks  # nothing is left behind

# %% [markdown]
# So a head can be switched off by erasing its part in front of $\mathbf{W}_o$: an *ablation*.
# It measures what the trained network loses, which the weights alone do not tell.

# %%
@contextmanager
def without_heads(layer, *heads):
    """Within this block these heads add nothing to the output."""
    keep = torch.ones(layer.num_heads, 1)
    keep[list(heads)] = 0

    def erase(linear, args):
        parts = args[0].unflatten(-1, (layer.num_heads, -1))
        return (parts * keep.to(parts)).flatten(2)

    handle = layer.W_o.register_forward_pre_hook(erase)
    try:
        yield
    finally:
        handle.remove()

# %% tags=["rtol=0.2"]
for seed in range(num_seeds):
    net = nets["2 heads", seed]
    role = roles(seen["2 heads"][seed])
    for i in range(2):
        with without_heads(net.attention, i):
            left, right = side_accuracies(net).tolist()
        side = "left" if role[i, 0] > role[i, 1] else "right"
        print(f"seed {seed}, without the head that looks {side}: "
              f"left {left:.2f}, right {right:.2f}")
        lost, other = (left, right) if side == "left" else (right, left)
        assert not full_run or lost < 0.2 and other > 0.9

# %% tags=["hide-input"]
# nothing is left behind, even after an error; all heads; the right ones
try:
    with without_heads(five, 1, 3):
        torch.testing.assert_close(five(X, Y, values, lens),
                                   parts[:, [0, 2, 4]].sum(dim=1))
        raise KeyError
except KeyError:
    torch.testing.assert_close(five(X, Y, values, lens), parts.sum(dim=1))
if full_run:
    assert side_accuracies(nets["2 heads", 0]).min() > 0.99

# %% [markdown]
# Without the head that looks left, left answers are close to a guess and right answers nearly all stay; and the reverse.
# Larger models are less tidy: Michel, Levy and Neubig (2019) removed single heads from trained Transformers and found that most could go without a large loss, one at a time (Exercise 11.5-2).
#
# ## Keys and values that cost less
#
# A language model that writes one token after the other keeps the keys and values of all earlier tokens in a *cache* ([Section 11.10](10-small-gpt.ipynb)).
# For each token, the cache of one layer has $2d$ numbers.
# It grows with the context, and all of it is read for every new token.
#
# *Multi-query* attention (Shazeer, 2019) keeps the $h$ queries but has a single head of keys and values, shared by all.
# *Grouped-query* attention (Ainslie and others, 2023) lies between this and multi-head attention: $g$ heads of keys and values, each shared by $h/g$ query heads.
# In our class it is `num_kv_heads=g`.
#
# ![Four ways to store keys and values for four query heads: each with its own; two shared by two each; one shared by all; one compressed latent vector, from which all are computed.](img/heads-sharing.svg)
#
# **Figure 11.5.5.** What is cached (orange) for four query heads (blue).

# %%
# check 11.5-C6: two key-value heads = four whose matrices are repeated
torch.manual_seed(0)
grouped, full = MultiHeadAttention(8, 4, num_kv_heads=2), four
Q, K, V = torch.randn(3, 2, 5, 8, generator=generator)
rows = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])  # 2 heads of 2 rows, twice
full.load_state_dict({
    name: W[rows] if name in ("W_k.weight", "W_v.weight") else W
    for name, W in grouped.state_dict().items()})
lens = torch.tensor([3, 5])
torch.testing.assert_close(grouped(Q, K, V, lens), full(Q, K, V, lens),
                           rtol=0, atol=1e-6)
torch.testing.assert_close(grouped.attention_weights,
                           full.attention_weights, rtol=0, atol=1e-6)
assert grouped.attention_weights.shape == (2, 4, 5, 5)
assert grouped.W_k.weight.shape == (4, 8)
q, k, v = (W(X).unflatten(-1, (-1, 2)).transpose(1, 2) for W, X in (
    (grouped.W_q, Q), (grouped.W_k, K), (grouped.W_v, V)))
fused = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
torch.testing.assert_close(grouped(Q, K, V),
                           grouped.W_o(fused.transpose(1, 2).flatten(2)))

# %% [markdown]
# *Latent attention* (DeepSeek-AI, 2024) keeps all heads but caches only one short vector $\mathbf{c}\in\mathbb{R}^c$ per token and layer, $\mathbf{c}=\mathbf{W}_c\mathbf{x}$ for an input $\mathbf{x}$, from which each head would compute $\mathbf{k}_i=\mathbf{W}_i^{(k)}\mathbf{c}$ and $\mathbf{v}_i=\mathbf{W}_i^{(v)}\mathbf{c}$, with $\mathbf{W}_i^{(k)},\mathbf{W}_i^{(v)}\in\mathbb{R}^{p\times c}$.
# It need not even compute them: with the query $\mathbf{q}_i\in\mathbb{R}^p$ of head $i$, and the weights $\alpha_j$ over tokens $j$,
#
# $$\mathbf{q}_i^\top(\mathbf{W}_i^{(k)}\mathbf{c})=(\mathbf{W}_i^{(k)\top}\mathbf{q}_i)^\top\mathbf{c},\qquad\sum_j\alpha_j\mathbf{W}_i^{(v)}\mathbf{c}_j=\mathbf{W}_i^{(v)}\sum_j\alpha_j\mathbf{c}_j. \tag{11.5.5}$$
#
# The expansion moves from all keys to the one query, and from all values to the one result.

# %%
def latent_attention(q, latent, W_k, W_v):
    """Heads (n, heads, queries, p) that attend to latent (n, keys, c).

    q is (n, heads, queries, p); W_k and W_v (heads, p, c) would expand the
    latent vectors to keys and values, but are applied to q and the result.
    """
    latent = latent.unsqueeze(1)  # (n, 1, keys, c), shared by all heads
    scores = q @ W_k @ latent.mT / q.shape[-1]**0.5
    return torch.softmax(scores, dim=-1) @ latent @ W_v.mT

# %%
# check 11.5-C8: absorbed = expanded, also into W_q and W_o
d, h, p, c = 12, 3, 4, 5
W_q, W_o = (torch.randn(h, *size, generator=generator) / d**0.5
            for size in ((p, d), (d, p)))
W_k, W_v = torch.randn(2, h, p, c, generator=generator)
x = torch.randn(2, 1, 7, d, generator=generator)  # (n, 1, queries, d)
latent = torch.randn(2, 6, c, generator=generator)
q, C = x @ W_q.mT, latent.unsqueeze(1)
expanded = F.scaled_dot_product_attention(q, C @ W_k.mT, C @ W_v.mT)
heads = latent_attention(q, latent, W_k, W_v)
torch.testing.assert_close(heads, expanded, rtol=0, atol=1e-5)
weights = torch.softmax(x @ (W_q.mT @ W_k) @ C.mT / p**0.5, dim=-1)
outputs = weights @ C @ (W_o @ W_v).mT  # (n, h, queries, d)
torch.testing.assert_close(outputs.sum(dim=1),
                           (expanded @ W_o.mT).sum(dim=1),
                           rtol=0, atol=1e-5)

# %% [markdown]
# Rotary positions ([Section 11.6](06-self-attention-and-positions.ipynb)) rotate queries and keys between the two matrices, which then no longer merge.
# DeepSeek-V2 and V3 therefore cache a few more numbers, one small rotated key shared by all heads.
#
# How much is it in bytes?
# We take the tensors' shapes from two published models, with two bytes a number, and allocate nothing: the device `meta` knows only shapes.

# %%
def cache_bytes(num_layers, *shapes):
    """Bytes of one token's tensors of these shapes, in all layers."""
    return num_layers * sum(torch.empty(
        shape, dtype=torch.bfloat16, device="meta").nbytes
        for shape in shapes)


sizes = {}
with torch.device("meta"):  # Llama 3 8B: 32 layers, 32 heads of 128
    for name, kv_heads in (("own", 32), ("grouped", 8), ("one", 1)):
        layer = MultiHeadAttention(4096, 32, num_kv_heads=kv_heads)
        token = torch.empty(4096)
        sizes[f"Llama 3 8B, {name}"] = cache_bytes(
            32, layer.W_k(token).shape, layer.W_v(token).shape)
sizes["DeepSeek-V3, own"] = cache_bytes(61, (128, 128), (128, 128))
sizes["DeepSeek-V3, latent"] = cache_bytes(61, (512,), (64,))
print(sizes)
assert list(sizes.values()) == [524288, 131072, 16384, 3997696, 70272]
assert sizes["Llama 3 8B, grouped"] * 2**17 == 16 * 2**30  # 16 GiB

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.6, 2.4), layout="constrained")
for row, (name, size) in enumerate(sizes.items()):
    used = name.endswith(("grouped", "latent"))
    ax.plot(size / 1024, row, "o", color="C0", ms=8,
            fillstyle="full" if used else "none")
    ax.text(1.25 * size / 1024, row, f"{size / 1024:.0f}", fontsize=8,
            va="center")
ax.set(xscale="log", xlabel="KiB of cache per token (log scale)",
       yticks=range(len(sizes)), yticklabels=list(sizes), xlim=(8, 9000))
ax.invert_yaxis()
d2l.describe(fig, """Dots on a logarithmic scale. Llama 3 8B: 512 KiB with
    own keys and values for each head, 128 grouped, 16 with one for all.
    DeepSeek-V3: 3904 KiB with its own for each head, 69 with a latent
    vector.""")

# %% [markdown]
# **Figure 11.5.6.** Cache per token; filled dots are what the models use, hollow ones what they would need otherwise.
# *Own*: each head has its own keys and values, for DeepSeek-V3 of size 128 for each of 128 heads (without the rotated part of the keys, another 64).
#
# The cache shrinks to a quarter in the one model and to less than a fiftieth in the other.
# It is still large: for one sequence of $2^{17}=131{,}072$ tokens the grouped one takes 16 GiB.
# This comparison of sizes cannot tell what sharing costs in quality.
# Ainslie and others (2023) report that grouped-query models, converted from multi-head ones and trained further, come close to multi-head quality.
#
# ## Where it stands
#
# Up to notation, (11.5.2) and (11.5.3) are those of Vaswani and others (2017).
# The size of a head need not be $d/h$: the smallest Qwen3 has $d=1024$ and 16 heads of size 128, and gpt-oss-120b has $d=2880$ and 64 heads of size 64.
# Qwen3 and Gemma 3 also normalize queries and keys before the product.
# Grouped queries are common in open language models, among them Llama 3, Qwen3, Gemma 3 and gpt-oss; `F.scaled_dot_product_attention` offers them with `enable_gqa=True`.
# DeepSeek-V3 and Kimi K2, with 128 and 64 heads, use latent attention.
# Later models also save work or memory along the sequence: DeepSeek-V3.2 (2025) lets each query select the tokens that it attends to, and DeepSeek-V4 (2026) replaces latent attention with a mixture of a sliding window and caches in which several tokens share one entry.
#
# ## Summary
#
# - One head returns one mean; with a linear readout and weights by position, it cannot report two neighbors in order, however wide it is; in our runs it served the one with more weight. Two heads could, and did.
# - At $p=d/h$, parameters and matrix products do not depend on the number of heads; the number of weights grows, and the rank of each score shrinks.
# - Split the width, then move the heads in front. A plain reshape has the same shape, survives a round trip, and lets padding through.
# - Stacking and projecting is a sum over heads, so single heads can be measured and removed.
# - Sharing keys and values among heads, or caching one latent vector, shrinks the cache; the latent form gives the same numbers as expanding it.

# %% [markdown]
# ## Exercises
#
# ### Exercise 11.5-1
#
# Draw the heads of a trained network with four heads on the task of this section, and compute their roles for all seeds.
# Two heads are enough for this task; what do four do?

# %% [markdown]
# #### Solution 11.5-1

# %% [markdown]
# In these runs each side is served by two heads.
# The roles are less clean than those of two heads: at single positions a head may split its weight or look to the other side, where its partner does the work.

# %% tags=["hide-input", "chaotic"]
axes = show_heatmaps(seen["4 heads"][0][None], xlabel="keys",
                     ylabel="queries", figsize=(7.2, 2.2),
                     titles=[f"head {i}" for i in range(4)])
d2l.describe(axes, """Four heat maps, 8 queries by 8 keys, each with one
    dark diagonal: two heads have theirs left of the main diagonal, two
    right of it.""")

# %%
sides = []
for seed, weights in enumerate(seen["4 heads"]):
    role = roles(weights)  # (4, 2)
    sides.append(role.argmax(dim=1))  # (4,)
    print(f"seed {seed}, heads look", *(
        ("left", "right")[side] for side in sides[seed]))
    if full_run:
        assert sides[seed].sum() == 2  # two look right
        assert role.amax(dim=1).min() > 0.6
        assert role.amax(dim=0).min() > 0.9

# %% [markdown]
# ### Exercise 11.5-2
#
# How important is a head?
# In the networks with four heads, switch off each head alone and measure the loss on the validation part.
# Then switch off two together, once a pair that looks to the same side and once one that looks to different sides.
# Can the effect of a pair be predicted from its members?

# %% [markdown]
# #### Solution 11.5-2

# %% [markdown]
# Not by adding.
# For two heads of one side the loss is far more than the sum of the two single losses, in every run and for both sides.
# The control is a pair of different sides: there it is never noticeably more, and for some pairs far less.
# So the surplus belongs to heads that share a job: each can stand in for the other, at least in part, and the single losses miss what the two do together.
# A small effect of a single ablation does not say that the job of the head is unimportant.

# %%
def loss_without(net, *heads):
    """Mean validation loss with these heads switched off."""
    with without_heads(net.attention, *heads):
        return net.loss(*predict(net, data.val_dataloader())).item()

# %% tags=["rtol=0.5"]
surplus = []  # of pairs of different sides
for seed in range(num_seeds):
    net = nets["4 heads", seed]
    single = [loss_without(net, i) for i in range(4)]
    side = sides[seed]
    for pair in combinations(range(4), 2):
        total = sum(single[i] for i in pair)
        together = loss_without(net, *pair)
        if side[pair[0]] == side[pair[1]]:
            which = int(side[pair[0]])
            print(f"seed {seed}, heads that look {('left', 'right')[which]}: "
                  f"sum of the single losses {total:.1f}, "
                  f"without both {together:.1f}")
            with without_heads(net.attention, *pair):
                lost = side_accuracies(net)
            if full_run:
                assert together > total + 0.5
                assert lost[which] < 0.2 and lost[1 - which] > 0.9
        else:
            surplus.append(together - total)
if full_run:
    assert max(surplus) < 0.15 and min(surplus) < -0.2

# %%
assert loss_without(net) < 0.05 or not full_run
blind = loss_without(net, 0, 1, 2, 3)  # nothing left but a bias
scores = net.dense.bias.reshape(2, 8).expand(1024, 8, 2, 8)
torch.testing.assert_close(blind, net.loss(scores, data.Y[2048:]).item())

# %% [markdown]
# ### Exercise 11.5-3
#
# How many parameters does grouped-query attention have with $h$ query heads and $g$ heads of keys and values, and how many operations does it take for $n$ queries and $m$ keys?
# Compare with PyTorch's counter.

# %% [markdown]
# #### Solution 11.5-3

# %% [markdown]
# The matrices of queries and output have $d^2$ parameters each, those of keys and values $d\cdot gp=d^2g/h$ each: $2d^2(1+g/h)$ together.
# The projections take $2\cdot2nd^2+2\cdot2md^2g/h$ operations, counting multiplications and additions.
# Scores and means take $4nmd$ for every $g$, since each query head still meets all keys: sharing saves memory and projections, but nothing there.

# %%
d, h, n, m = 48, 6, 10, 20
Q, K = torch.zeros(1, n, d), torch.zeros(1, m, d)
for g in (1, 2, 3, 6):
    layer = MultiHeadAttention(d, h, num_kv_heads=g)
    with FlopCounterMode(display=False) as counter:
        layer(Q, K, K)
    print(f"g = {g}: {count_params(layer)} parameters, "
          f"{counter.get_total_flops()} operations")
    assert count_params(layer) == 2 * d**2 + 2 * d**2 * g // h
    assert counter.get_total_flops() == (
        4 * n * d**2 + 4 * m * d**2 * g // h + 4 * n * m * d)

# %% [markdown]
# ### Exercise 11.5-4
#
# Measure the time of a forward pass for 1 to 16 heads of a layer of width 64, with `bench_steps` queries and keys.
# Which cost grows with the number of heads, if the operations of the products do not?

# %% [markdown]
# #### Solution 11.5-4

# %% [markdown]
# The number of weights, $hnm$: all of them are written, divided, normalized and read again.
# The second column times the softmax alone; it is only one of these steps.
# The two products may slow down as well, although their operations are the same, since their matrices become thinner.
# Times depend on the machine, so none is asserted; the number of weights is.
# The arms take turns, and the first round warms up.

# %%
def seconds(function, *inputs):
    """Duration of one call, with the work that it queued on a device."""
    begin = time.perf_counter()
    output = function(*inputs)
    if output.device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - begin


device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")
X = torch.ones(4, bench_steps, 64, device=device)
layers = {h: MultiHeadAttention(64, h).to(device) for h in (1, 2, 4, 8, 16)}
with torch.no_grad():
    rounds = torch.tensor([[
        (seconds(layer, X, X, X),
         seconds(torch.softmax, layer.attention_weights, -1))
        for layer in layers.values()] for _ in range(7)])  # (7, arms, 2)
median = rounds[1:].median(dim=0).values
for h, layer in layers.items():
    assert layer.attention_weights.numel() == 4 * h * bench_steps**2

# %% tags=["timing"]
for h, (layer_s, softmax_s) in zip(layers, median.tolist()):
    print(f"{h:2} heads: {1000 * layer_s:.2f} ms, "
          f"softmax alone {1000 * softmax_s:.2f} ms")

# %% [markdown]
# ### Exercise 11.5-5
#
# Build a layer of two heads whose weights are far from uniform and whose output is zero for every input.
# What does it say about reading attention maps?

# %% [markdown]
# #### Solution 11.5-5

# %% [markdown]
# Give both heads the same queries, keys and values, and the second the negative block of $\mathbf{W}_o$.
# Each then adds a vector that the other removes.
# The maps show two busy heads, and the layer does nothing: a map says where a head looked, not whether it mattered.
# More generally, for two equal heads any matrix can be added to one block and subtracted from the other without a change of the output.

# %%
torch.manual_seed(0)
layer, X = MultiHeadAttention(8, 2), torch.randn(3, 6, 8)
with torch.no_grad():
    for W in (layer.W_q, layer.W_k, layer.W_v):
        W.weight[4:] = W.weight[:4]
    layer.W_q.weight *= 8  # pointed weights
    layer.W_o.weight[:, 4:] = -layer.W_o.weight[:, :4]
    parts, output = contributions(layer, X, X, X), layer(X, X, X)
sizes = parts.norm(dim=-1).mean(dim=(0, 2))  # of each head
print(f"mean length of what a head adds: {sizes[0]:.2f} and {sizes[1]:.2f}")
assert (sizes > 0.2).all() and output.abs().max() < 1e-5
assert layer.attention_weights.amax(dim=-1).mean() > 0.5

# %%
with torch.no_grad():  # equal heads, any A
    layer.W_o.weight.copy_(torch.randn(8, 8))
    before, A = layer(X, X, X), torch.randn(8, 4)
    layer.W_o.weight[:, :4] += A
    layer.W_o.weight[:, 4:] -= A
    torch.testing.assert_close(layer(X, X, X), before, rtol=0, atol=1e-4)
    assert before.abs().max() > 0.1

# %% [markdown]
# ### Exercise 11.5-6
#
# The proof needs a linear readout, but in a Transformer a network with a hidden layer follows.
# Give the reader with one head such a readout.
# Is one head enough now?

# %% [markdown]
# #### Solution 11.5-6

# %% [markdown]
# It can be: with shares 0.7 and 0.3, say, the 64 mixtures of two symbols are different points, and a hidden layer can tell them apart.
# With 128 hidden units and the same steps, some runs answered everything, with both neighbors in sight.
# Not every run did within these steps.
# So more heads are not the only way to get two answers out of one layer; on this task two heads did it with a linear readout and fewer parameters, in every run.

# %% tags=["rtol=0.2"]
results = []
for seed in range(num_seeds):
    torch.manual_seed(seed)
    net = NeighborReader(1)
    net.dense = nn.Sequential(nn.Linear(32, 128), nn.ReLU(),
                              nn.Linear(128, 2 * 8))
    assert torch.equal(position_weights(net), untrained["1 head", seed])
    history = fit_quietly(net, data, num_epochs, seed=seed,
                          num_gpus=num_gpus)
    results.append(history["val_acc"][-1])
    assert len(history["val_acc"]) == num_epochs and net.lr == 0.01
    role = roles(position_weights(net.cpu()))
    if full_run and results[-1] > 0.99:  # both neighbors, not equally
        assert role.min() > 0.1 and (role[0, 0] - role[0, 1]).abs() > 0.1
print("one head, hidden layer:", " ".join(f"{acc:.3f}" for acc in results))
assert count_params(net) > 2 * narrow
assert not full_run or max(results) > 0.99

# %% [markdown]
# ## Sources
#
# - A. Vaswani et al., Attention is all you need, 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762): multi-head attention with $p=d/h$.
# - S. Bhojanapalli, C. Yun, A. S. Rawat, S. Reddi and S. Kumar, Low-rank bottleneck in multi-head attention models, 2020, [arXiv:2002.07028](https://arxiv.org/abs/2002.07028).
# - E. Voita, D. Talbot, F. Moiseev, R. Sennrich and I. Titov, Analyzing multi-head self-attention: specialized heads do the heavy lifting, the rest can be pruned, 2019, [arXiv:1905.09418](https://arxiv.org/abs/1905.09418).
# - P. Michel, O. Levy and G. Neubig, Are sixteen heads really better than one?, 2019, [arXiv:1905.10650](https://arxiv.org/abs/1905.10650): heads removed after training.
# - N. Elhage et al., A mathematical framework for Transformer circuits, 2021, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html): heads as independent additions to the residual stream.
# - N. Shazeer, Fast Transformer decoding: one write-head is all you need, 2019, [arXiv:1911.02150](https://arxiv.org/abs/1911.02150): multi-query attention.
# - J. Ainslie et al., GQA: training generalized multi-query Transformer models from multi-head checkpoints, 2023, [arXiv:2305.13245](https://arxiv.org/abs/2305.13245).
# - DeepSeek-AI, DeepSeek-V2, 2024, [arXiv:2405.04434](https://arxiv.org/abs/2405.04434): latent attention; DeepSeek-V3 technical report, 2024, [arXiv:2412.19437](https://arxiv.org/abs/2412.19437): 61 layers, 128 heads, 512 + 64 cached numbers; DeepSeek-V3.2, 2025, [arXiv:2512.02556](https://arxiv.org/abs/2512.02556); [DeepSeek-V4](https://huggingface.co/docs/transformers/main/model_doc/deepseek_v4) in the documentation of Transformers, 2026.
# - A. Grattafiori et al., The Llama 3 herd of models, 2024, [arXiv:2407.21783](https://arxiv.org/abs/2407.21783): 32 layers, 32 heads, 8 of them with keys and values.
# - Kimi Team, Kimi K2, 2025, [arXiv:2507.20534](https://arxiv.org/abs/2507.20534); A. Yang et al., Qwen3 technical report, 2025, [arXiv:2505.09388](https://arxiv.org/abs/2505.09388); Gemma Team, Gemma 3 technical report, 2025, [arXiv:2503.19786](https://arxiv.org/abs/2503.19786); OpenAI, gpt-oss-120b & gpt-oss-20b model card, 2025, [arXiv:2508.10925](https://arxiv.org/abs/2508.10925): attention in recent open models.
