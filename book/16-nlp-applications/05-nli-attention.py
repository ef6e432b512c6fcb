# ---
# jupyter:
#   d2l:
#     data: [snli-dev-test, minilm, bert-vocab, brown, masc-tagged, wikitext-2]
#     profiles:
#       gpu:
#         num_train: 16000
#         epochs: 20
#         num_hiddens: 200
#         snli_d: 200
#         dropout: 0.2
#         step: 1
#       smoke:
#         num_train: 200
#         epochs: 1
#         toy_epochs: 1
#         num_toy: 600
#         num_hiddens: 16
#         d: 16
#         snli_d: 16
#         step: 20
#         num_seeds: 1
#     rehearsal: {num_train: 0.02, epochs: 0.05}
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
# # 16.5 Natural language inference: attention
#
# Two sentences, one label: which words of one should be compared with which words of the other?
# The decomposable attention model lets attention answer, compares word by word, and adds up.
# It is small, reads no order at all, and in 2016 was level with a recurrent network of nine times its size; this section builds it, masks its padding, and proves what it cannot represent.
#
# **You will**
#
# - build attend, compare and aggregate, and say what each costs;
# - measure what padding does to a model that does not mask it;
# - read soft alignments between two sentences, with untrained networks and dealt labels as controls;
# - prove that the model cannot tell who chases whom, and compare word vectors on SNLI at equal budgets, beside honest baselines.
#
# **Cost**: less than a minute on a CPU; downloads of about 100 MB, most of it for the pretrained vectors.

# %%
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    PositionalEncoding, masked_softmax)
from d2l_helpers.chapters.computer_vision import evaluating, train_ch14
from d2l_helpers.chapters.nlp_applications import (
    LABELS, NLIData, linear_predictions, load_embeddings, minilm_vectors,
    length_buckets)
from d2l_helpers.chapters.nlp_pretraining import (
    WORD_CORPORA, TokenEmbedding, cooccurrence, ppmi, read_corpus,
    svd_vectors)
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import ToyWorld

d2l.use_style()

# %% tags=["parameters"]
num_train = 3000  # pairs of SNLI
epochs = 3  # on SNLI
toy_epochs = 3
num_toy = 6000  # pairs of ToyNLI
num_hiddens = 64
d = 64  # numbers in a word vector
dropout = 0.0
snli_d = 48  # numbers in a vector and hidden units, on SNLI
step = 3  # every third sentence of the corpus of our own vectors
num_seeds = 3
seed = 0

# %% [markdown]
# ## Three steps
#
# In [Section 16.4](04-nli-data.ipynb) a linear classifier on two bags of words could not ask whether a word of the hypothesis occurs in the premise.
# A network can, if it is given the two words side by side.
# Parikh and others (2016) find the partners by attention.
# Let $\mathbf A\in\mathbb{R}^{m\times d}$ hold the vectors $\mathbf a_i$ of the $m$ tokens of the premise, and $\mathbf B\in\mathbb{R}^{n\times d}$ those of the hypothesis, $\mathbf b_j$.

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(7.4, 2.7))
boxes = {  # name -> center, text, color
    "A": ((0, 1), "A\n(m, d)", "C0"), "B": ((0, 0), "B\n(n, d)", "C1"),
    "e": ((1.6, 0.5), "scores e\n(m, n)", "0.5"),
    "beta": ((3.2, 1), "β\n(m, d)", "C1"),
    "alpha": ((3.2, 0), "α\n(n, d)", "C0"),
    "VA": ((4.9, 1), "V$_A$\n(m, w)", "C0"),
    "VB": ((4.9, 0), "V$_B$\n(n, w)", "C1"),
    "sum": ((6.4, 0.5), "two sums\n(2w,)", "0.5"),
    "y": ((7.9, 0.5), "scores of\nlabels (3,)", "0.5")}
for (x, y), text, color in boxes.values():
    ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox={
        "boxstyle": "round", "fc": "white", "ec": color, "lw": 1.5})
arrows = [("A", "e", "f"), ("B", "e", "f"), ("e", "beta", "rows"),
          ("e", "alpha", "columns"), ("beta", "VA", "g"),
          ("alpha", "VB", "g"), ("VA", "sum", ""), ("VB", "sum", ""),
          ("sum", "y", "h")]
for start, end, name in arrows:
    (x0, y0), (x1, y1) = boxes[start][0], boxes[end][0]
    ax.annotate("", (x1 - 0.48, y1), (x0 + 0.42, y0), arrowprops={
        "arrowstyle": "->", "color": "0.4"})
    ax.text((x0 + x1) / 2, (y0 + y1) / 2 + 0.12, name, ha="center",
            fontsize=8, color="0.3")
for x, name in ((2.4, "attend"), (4.9, "compare"), (7.1, "aggregate")):
    ax.text(x, 1.55, name, ha="center", fontsize=10, weight="bold")
ax.set(xlim=(-0.6, 8.6), ylim=(-0.5, 1.8))
ax.axis("off")
d2l.describe(ax, """Boxes from left to right: the premise A (m, d) and the
    hypothesis B (n, d) give scores (m, n); softmax along the rows gives beta
    (m, d), a mean of B for each premise token, along the columns alpha (n,
    d), a mean of A for each hypothesis token; comparing gives V A (m, w) and
    V B (n, w), which are summed; a last network gives three scores.""")

# %% [markdown]
# **Figure 16.5.1.** The model, with the shapes for one pair. Not drawn: β and α are weighted means of the vectors in B and A, and $g$ also reads the token itself, beside its partner.
#
# **Attend.** A small network $f$ maps each token, and inner products are the scores:
#
# $$e_{ij}=f(\mathbf a_i)^\top f(\mathbf b_j),\qquad
# \boldsymbol\beta_i=\sum_{j=1}^n\frac{\exp e_{ij}}{\sum_{k=1}^n\exp e_{ik}}\,\mathbf b_j,\qquad
# \boldsymbol\alpha_j=\sum_{i=1}^m\frac{\exp e_{ij}}{\sum_{k=1}^m\exp e_{kj}}\,\mathbf a_i.\tag{16.5.1}$$
#
# $\boldsymbol\beta_i\in\mathbb{R}^d$ is what the hypothesis has to set against token $i$ of the premise, a *soft alignment*; $\boldsymbol\alpha_j\in\mathbb{R}^d$ is the other way round.
# If $f$ is the identity, $\mathbf a_1=(1,0)$ and the hypothesis has $\mathbf b_1=(2,0)$, $\mathbf b_2=(0,5)$, the scores are 2 and 0, the weights about 0.88 and 0.12, and $\boldsymbol\beta_1\approx(1.76,0.60)$.
#
# A network that read both words at once, $f([\mathbf a_i,\mathbf b_j])$, would have to run $mn$ times for a pair of sentences; this one runs $m+n$ times.
# The $mn$ inner products remain (Exercise 16.5-4).

# %% tags=["export"]
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

# %% [markdown]
# **Compare.** Each token is put beside its partner, and a second network looks at the two, without the rest of the sentences.
# This is what the name means: attention decomposes one large question into many small ones.
#
# $$\mathbf v_{A,i}=g([\mathbf a_i,\boldsymbol\beta_i]),\qquad\mathbf v_{B,j}=g([\mathbf b_j,\boldsymbol\alpha_j]).\tag{16.5.2}$$
#
# **Aggregate.** The comparisons of each sentence, in $\mathbb{R}^w$ with $w$ the width of the networks, are added, and a last network $h$ with a linear layer gives three scores:
#
# $$\hat{\mathbf y}=h\Big(\Big[\sum_{i=1}^m\mathbf v_{A,i},\ \sum_{j=1}^n\mathbf v_{B,j}\Big]\Big)\in\mathbb{R}^3.\tag{16.5.3}$$
#
# In a batch, sentences are filled up to one length.
# Then the sums over $j$ and $i$ must end where the sentence does, in (16.5.1) *and* in (16.5.3): a pad that gets no attention still has a vector, and $g$ of it is not 0.

# %% tags=["export"]
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

# %% [markdown]
# The whole model looks up frozen word vectors and learns a projection of them.
# Parikh and others do the same: their vectors of GloVe are scaled to length 1 and stay as they are, and a word without a vector gets one of 100 random ones.

# %% tags=["export"]
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

# %%
# check 16.5-C1: shapes; weights sum to 1, padding gets 0
toy = NLIData("toy", num_steps=12)
torch.manual_seed(seed)
net = DecomposableAttention(toy.vocab, d, num_hiddens).eval()
pairs = [part[:5] for part in toy.tensors["test"][:2]]
pairs[1] = pairs[1][:, :9]  # another width
A, B, *lens = net.embed(pairs)
over_b, over_a = net.attend.weights(A, B, *lens)
beta, alpha = net.attend(A, B, *lens)
V_A, V_B = net.compare(A, B, beta, alpha)
scores = net.aggregate(V_A, V_B, *lens)
print(*(tuple(x.shape) for x in (A, B, over_b, over_a, beta, alpha, V_A)))
assert over_b.shape == (5, 12, 9) and over_a.shape == (5, 9, 12)
assert beta.shape == A.shape == (5, 12, d) and alpha.shape == (5, 9, d)
assert V_A.shape == (5, 12, num_hiddens) and scores.shape == (5, 3)
for w, ids in ((over_b, pairs[1]), (over_a, pairs[0])):
    torch.testing.assert_close(w.sum(dim=-1), torch.ones(w.shape[:2]))
    empty = (ids == net.pad)[:, None].expand_as(w)
    assert empty.any() and (w[empty] == 0).all() and (w[~empty] > 0).all()
close, n = torch.testing.assert_close, int(lens[1][1])
f, g, last = net.attend.f, net.compare.g, net.aggregate
close(over_b[1, 2, :n], (f(B[1, :n]) @ f(A[1, 2])).softmax(dim=0))
close(beta[1, 2], over_b[1, 2] @ B[1])
close(V_A[1, 2], g(torch.cat((A[1, 2], beta[1, 2]))))
close(V_B[1, 2], g(torch.cat((B[1, 2], alpha[1, 2]))))
sums = torch.cat((V_A[1, :lens[0][1]].sum(dim=0), V_B[1, :n].sum(dim=0)))
close(scores[1], last.output(last.h(sums)))
close(scores, net(pairs))
one = Attend(2, 2)
one.f = nn.Identity()
A = torch.tensor([[[1.0, 0.0]]])
B = torch.tensor([[[2.0, 0.0], [0.0, 5.0]]])
beta, alpha = one(A, B)
close(beta[0, 0], torch.tensor([1.76, 0.60]), atol=0.01, rtol=0)
close(alpha[0], A[0].expand(2, 2))

# %% [markdown]
# ## Training, with and without masks
#
# The loop is short.
# A batch holds premises of about the same length and is cut to its longest sentences, which saves most of the padding; a masked model gives the same scores with or without it.
# In SNLI most premises were given a hypothesis of each label, so the length of a premise says next to nothing about the label, and such batches are still mixed.
# In ToyNLI a premise tells something about the label ([Section 16.4](04-nli-data.ipynb)), so there we compare lengths in steps of eight tokens: all its premises count as equal.

# %% tags=["export"]
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

# %% tags=["export"]
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

# %%
# it can be repeated, and predicting leaves the network as it was
few, others = ([tensor[:100] for tensor in toy.tensors[part]]
               for part in ("train", "test"))


def tried(seed, dropout, lr=1e-3, masked=True, draws=0, bucket=1):
    """Loss and accuracy of one epoch from the same start, and the network."""
    torch.manual_seed(1)
    net = DecomposableAttention(toy.vocab, 8, 8, None, masked, dropout).eval()
    torch.rand(draws)
    history = fit_nli(net, few, others, 1, lr, seed=seed, bucket=bucket)
    assert net.training
    return history["loss"], history["test"], net


assert tried(0, 0.5)[:2] == tried(0, 0.5, draws=3)[:2]
assert tried(0, 0.0)[0] != tried(1, 0.0)[0]  # other batches
assert tried(0, 0.0)[0] != tried(0, 0.0, bucket=8)[0]  # lengths mixed
for masked in (True, False):
    loss, right, net = tried(0, 0.5, masked=masked)
    with evaluating(net):
        found = net(others[:2]).argmax(dim=1)
    assert torch.equal(predict_pairs(net, others, 7), found)
    assert right == [(found == others[2]).float().mean().item()]
loss, _, net = tried(0, 0.0, lr=0.0)
assert abs(loss[0] - F.cross_entropy(net(few[:2]), few[2])) < 1e-5
one = [tensor[:64] for tensor in few]  # one batch, two steps
fit_nli(net, one, None, 2, lr=0.0)
bias = net.aggregate.output.bias
close(bias.grad, torch.autograd.grad(F.cross_entropy(net(one[:2]), one[2]),
                                     bias)[0])
assert [ids.shape[1] for ids in cut([torch.tensor(
    [[3, 0, 0], [3, 3, 0]]), torch.zeros(2, 4)], 0)] == [2, 1]

# %% [markdown]
# First ToyNLI, whose sentences have 3 to 7 tokens, here filled up to 12.
# A masked network is trained in three runs, and one without masks, the same otherwise.
# There are two controls: a masked network whose premises are all replaced by a single `<unk>`, so it sees the hypothesis alone, and a network with one hidden layer that gets the two sets of words side by side, without attention.

# %%
def without_premise(tensors, vocab):
    """The same pairs, but each premise is one unknown word."""
    P = torch.full_like(tensors[0], vocab["<pad>"])
    P[:, 0] = vocab.unk
    return P, *tensors[1:]


train = [tensor[:num_toy] for tensor in toy.tensors["train"]]
test = toy.tensors["test"]
blind = [without_premise(part, toy.vocab) for part in (train, test)]
nets, curves = {}, {}
for kind, masked, parts, runs in (
        ("masked", True, (train, test), num_seeds),
        ("not masked", False, (train, test), 1),
        ("hypothesis only", True, blind, 1)):
    for run in range(runs):
        torch.manual_seed(seed + run)
        net = DecomposableAttention(toy.vocab, d, num_hiddens, None, masked,
                                    dropout)
        nets[kind, run] = net.to(d2l.try_device(quiet=True))
        curves[kind, run] = fit_nli(net, *parts, toy_epochs, seed=seed + run,
                                    bucket=8)
    print(f"{kind:16}", *(f"{curves[kind, r]['test'][-1]:.3f}"
                          for r in range(runs)))

# %%
def bag(tensors):
    """Sets of words of both sentences, side by side: (n, 2 V)."""
    sides = [torch.zeros(len(ids), len(toy.vocab)).scatter_(1, ids, 1)
             for ids in tensors[:2]]
    return torch.cat(sides, dim=1), tensors[2]


torch.manual_seed(seed)
plain = nn.Sequential(nn.Linear(2 * len(toy.vocab), 128), nn.ReLU(),
                      nn.Linear(128, 3))
bags = train_ch14(plain, bag(train), bag(test), nn.CrossEntropyLoss(),
                  torch.optim.Adam(plain.parameters(), 2e-2), 12,
                  d2l.try_device(quiet=True))["test"][-1]
print(f"two sets of words, one hidden layer: {bags:.3f}")

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7, 2.6))
marks = {"masked": "C0o-", "not masked": "C1s--", "hypothesis only": "C2^:"}
for (kind, run), history in curves.items():
    for ax, part in zip(axes, ("loss", "test")):
        ax.plot(range(1, toy_epochs + 1), history[part], marks[kind],
                markersize=4, label=kind if run == 0 else None)
axes[1].axhline(1 / 3, color="0.5", lw=1)
for ax in axes:
    ax.set_xticks(range(1, toy_epochs + 1))
axes[0].set(xlabel="epoch", ylabel="training loss (nats)")
axes[1].set(xlabel="epoch", ylabel="test accuracy", ylim=(0.25, 1.02))
axes[0].legend(fontsize=7)
d2l.describe(axes, """Training loss and test accuracy on ToyNLI by epoch, a
    line for each run. The masked networks that see both sentences reach a
    test accuracy near 1, the one without masks ends above 0.8, and the one
    that sees only the hypothesis stays near one third.""")

# %% [markdown]
# **Figure 16.5.2.** ToyNLI, three runs with masks, one without, one with the hypothesis only (dropout 0, Adam, 6000 pairs). The gray line is one third.

# %%
# check 16.5-C5: masked networks learn ToyNLI in a few epochs
full_toy = (toy_epochs >= 3 and num_hiddens >= 64 and dropout == 0
            and num_toy == 6000 and (d, seed) == (64, 0))
tests = {kind: np.array([history["test"] for (name, _), history in
                         curves.items() if name == kind]) for kind in marks}
if full_toy:
    assert tests["masked"][:, -1].min() > 0.97
    assert tests["not masked"][:, -1] > 0.8

# check 16.5-C6: controls
assert not full_toy or abs(tests["hypothesis only"][:, -1] - 1 / 3) < 0.06
assert not full_toy or bags > 0.97

# %% [markdown]
# The masked networks solve the task within three epochs, in each of the three runs.
# The one without masks gets most of it too: a network can learn to live with padding of one width.
# The hypothesis alone stays near one third, as the labels do not depend on it.
# But the last line of the output shows what kind of success this is: two sets of words and one hidden layer do as well, after twelve epochs.
# ToyNLI tests whether the parts work together, not whether a model reads.
#
# ### Padding that changes the answer
#
# In training, the network without masks has met rows of one width only, 12.
# Here are the trained networks of the first run on the same test pairs, filled up to other widths.

# %%
# check 16.5-C2: padding changes nothing if it is masked
def padded(ids, width):
    """Indices (n, steps), filled up or cut to `width` columns."""
    return F.pad(ids, (0, width - ids.shape[1]), value=toy.vocab["<pad>"])


change, right = {}, {}
for kind in ("masked", "not masked"):
    net = nets[kind, 0].cpu()
    with evaluating(net):
        first = net([padded(ids, 8) for ids in test[:2]])
        for width in (8, 12, 50):
            scores = net([padded(ids, width) for ids in test[:2]])
            change[kind, width] = (scores - first).abs().max().item()
            right[kind, width] = (scores.argmax(1) == test[2]
                                  ).float().mean().item()
            print(f"{kind:10} width {width:2}: accuracy "
                  f"{right[kind, width]:.3f}, scores moved by up to "
                  f"{change[kind, width]:.2g}")
    own = (predict_pairs(net, test) == test[2]).float().mean().item()
    assert abs(own - right[kind, 12]) < 2e-3  # at the width of the data
assert max(change["masked", w] for w in (8, 12, 50)) < 1e-3
assert not full_toy or change["not masked", 50] > 1
assert len({right["masked", w] for w in (8, 12, 50)}) == 1
for part in ("attend", "aggregate"):  # one mask of the two is not enough
    net = nets["masked", 0]
    _, _, *lens = net.embed(test[:2])
    with evaluating(net):
        A, B = net.embed([padded(ids, 50) for ids in test[:2]])[:2]
        some = {"attend": lens, "aggregate": lens} | {part: (None, None)}
        V = net.compare(A, B, *net.attend(A, B, *some["attend"]))
        moved = net.aggregate(*V, *some["aggregate"]) - net(test[:2])
    assert not full_toy or moved.abs().max() > 1

# %% [markdown]
# The masked network gives the same scores at any width, up to rounding; the other one does not, although every pair still says the same.
# The implementation in *Dive into Deep Learning* (Zhang and others, 2023) has no masks: padding gets attention and is added up.
#
# ## What is aligned with what
#
# The weights of (16.5.1) can be looked at.

# %% tags=["export"]
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

# %%
net = nets["masked", 0]
shown = [("the old dog waits near the river", "the new animal waits"),
         ("the big owl rises", "the bird falls")]
for premise, hypothesis in shown:
    label, p = predict_nli(net, premise, hypothesis)
    print(f"{premise} -> {hypothesis}: {label} {p.max():.2f}")
    assert label == "contradiction" or not full_toy
modes = [m.training for m in net.modules()]
predict_nli(net.train(), *shown[0])
assert net.training and predict_nli(net, *shown[0])[1].shape == (3,)
for told, wrong in (
        ("premise ''", lambda: predict_nli(net, "", "a")),
        ("hypothesis ' '", lambda: predict_nli(net, "a", " ")),
        ("are (3, 2)", lambda: DecomposableAttention(
            toy.vocab, 2, 2, torch.ones(3, 2)))):
    try:
        wrong()
    except ValueError as error:
        assert told in str(error)
    else:
        raise AssertionError(f"no error that says {told}")

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.4, 3.2), width_ratios=[7, 4])
for ax, (premise, hypothesis) in zip(axes, shown):
    over_a = alignment(net, premise, hypothesis)[1].numpy()  # (n, m)
    size = len(hypothesis.split()), len(premise.split())
    assert over_a.shape == size and np.allclose(over_a.sum(axis=1), 1)
    picture = ax.imshow(over_a, vmin=0, vmax=1, cmap="Blues")
    ax.set_xticks(range(size[1]), premise.split(), rotation=60)
    ax.set_yticks(range(size[0]), hypothesis.split())
    ax.set(xlabel="premise", ylabel="hypothesis")
    ax.grid(visible=False)
plt.colorbar(picture, ax=axes, shrink=0.7)
d2l.describe(axes, """Two tables of weights between 0 and 1: a row for each
    word of the hypothesis, a column for each word of the premise; each row
    sums to 1. The word waits, which stands in both sentences, has its weight
    on itself; new and falls have theirs on other words than old and
    rises.""")

# %% [markdown]
# **Figure 16.5.3.** Weights of each word of the hypothesis over the words of the premise (masked network, first run), for two contradictions: old and new, rises and falls. Here neither "new" nor "falls" looks at its opposite.
#
# Pictures of two pairs that we chose prove little, so count over the test part.
# Of the adjectives and verbs of a hypothesis whose opposite is in the premise, how many give it more than $1/m$, the weight of a look that is the same everywhere?
# And of those that stand in the premise themselves, how many give themselves more?
# Before we count, two controls, so that we know what a count is worth: each network before its training, and the first network trained anew for as many epochs with labels dealt at random among the training pairs, where there is no rule to learn.

# %%
generator = torch.Generator().manual_seed(seed)
mixed = train[2][torch.randperm(len(train[2]), generator=generator)]
torch.manual_seed(seed)
net = DecomposableAttention(toy.vocab, d, num_hiddens, dropout=dropout)
nets["labels dealt", 0] = net.to(d2l.try_device(quiet=True))
curves["labels dealt", 0] = fit_nli(net, (*train[:2], mixed), test,
                                    toy_epochs, seed=seed, bucket=8)

# %%
# check 16.5-C7: do antonyms find each other?
places = {"opposite": [], "same word": []}  # (pair, j, i)
for row, (premise, hypothesis, _) in enumerate(toy.test):
    p, h = premise.split(), hypothesis.split()
    for j, word in enumerate(h):
        if word in ToyWorld.opposites:
            for kind, other in (("opposite", ToyWorld.opposites[word]),
                                ("same word", word)):
                if other in p:
                    places[kind].append((row, j, p.index(other)))


def shares_above(net):
    """Shares of the weights at `places` that are above 1/m."""
    with evaluating(net.cpu()):
        A, B, *lens = net.embed(test[:2])
        weights = net.attend.weights(A, B, *lens)[1]  # (pairs, n, m)
    return [(weights[row, j, i] > 1 / lens[0][row]).float().mean().item()
            for row, j, i in (torch.tensor(rows).T
                              for rows in places.values())]


print("share above 1/m:", " / ".join(places))
shares = {}
for kind, run in nets:
    if kind in ("masked", "labels dealt"):
        torch.manual_seed(seed + run)
        fresh = DecomposableAttention(toy.vocab, d, num_hiddens)
        assert torch.equal(fresh.vectors, nets[kind, run].vectors.cpu())
        shares[kind, run] = shares_above(fresh), shares_above(nets[kind, run])
        print("{:12} {}: untrained {:.2f} / {:.2f}, trained {:.2f} / {:.2f}, "
              "test accuracy {:.3f}".format(kind, run, *sum(
                  shares[kind, run], []), curves[kind, run]["test"][-1]))
if full_toy:
    assert sum(y == 1 for *_, y in toy.test) == len(places["opposite"])
    for (kind, _), ((before, same), (after, still)) in shares.items():
        assert before > 0.3 and after < before - 0.1 and same > 0.9
        assert (after < 0.05 and still > 0.95 if kind == "masked"
                else still < 0.75)

# %% [markdown]
# Look at the three masked runs alone, and a story offers itself: learning the task teaches opposites to avoid each other, for after training hardly one of them gives the other more than $1/m$, and before it was three in ten or more.
# But in our one run with labels dealt at random the share falls as well, so its fall does not show that anything was learned about opposites.
# The second column is the other way round.
# That equal words find each other does not look like an achievement, as they do so before training.
# Yet the network with dealt labels has lost much of it, and the three with true labels have kept it.
#
# The labels are nearly all right although hardly a word of a hypothesis looks at its opposite.
# Nor need it, and $g$ need not see the two side by side: a word without a match shows in the sum of its own sentence, and $h$, which reads both sums, can put the two together.
# Jain and Wallace (2019) found very different attention weights that give equivalent predictions in many tasks; Wiegreffe and Pinter (2019) answer that it depends on what one calls an explanation, and propose controls, among them other seeds.
# So a map of weights shows where a network looks, and not, without a control, what it concludes from it.
#
# ## What it cannot represent
#
# Number the tokens of the premise in another order.
# The vectors $\boldsymbol\beta_i$ and $\mathbf v_{A,i}$ are numbered anew in the same way, and nothing else about them changes; the sums in $\boldsymbol\alpha_j$ and in (16.5.3) run over the same terms.
# So the scores stay the same, for every order of each sentence and whatever the weights.
# The model may compare each word with each word of the other sentence, but it sees two bags.
#
# Now take the premise "the dog chases the cat" and two hypotheses, the same sentence again and "the cat chases the dog".
# By (16.4.1) the first is entailed and the second is neutral, but as bags they are equal.
# Let all test pairs come as such twins, of different labels: then at most one of each two answers is right, and accuracy is at most $1/2$.
# No training changes that.

# %%
VERBS = ("chases", "follows", "pushes", "carries")


def role_pairs():
    """Twins (premise, hypothesis, label) that differ in order alone."""
    nouns, twins = list(ToyWorld.kinds), []
    for i, a in enumerate(nouns):
        for b in nouns[:i]:
            for verb in VERBS:
                there, back = (f"the {x} {verb} the {y}"
                               for x, y in ((a, b), (b, a)))
                twins.append([(p, h, 0 if p == h else 2)
                              for p in (there, back) for h in (p, *(
                                  {there, back} - {p}))])
    order = np.random.default_rng(seed).permutation(len(twins))
    twins = [twins[i] for i in order]
    return [sum(part, []) for part in (twins[64:], twins[:64])]


roles = SimpleNamespace(num_steps=5, vocab=SimpleNamespace())
roles.train, roles.test = role_pairs()
roles.vocab = Vocab([p.split() for p, *_ in roles.train], 0, ["<pad>"])
role_train, role_test = (NLIData.encode(roles, part) for part in (
    roles.train, roles.test))
torch.manual_seed(seed)
role_net = DecomposableAttention(roles.vocab, d, num_hiddens,
                                 dropout=dropout)
history = fit_nli(role_net, role_train, role_test, 6, batch_size=32,
                  seed=seed)
print(*(f"{p} -> {h}: {LABELS[y]}" for p, h, y in roles.test[:2]), sep="\n")
print("training loss", *(f"{x:.3f}" for x in history["loss"]))
print("test accuracy", *(f"{x:.3f}" for x in history["test"]))

# %%
# check 16.5-C3: the order within each sentence is not seen
generator = torch.Generator().manual_seed(seed)
net, seen = nets["masked", 0], []
for (P, H), _ in zip(zip(*test[:2]), range(50)):
    p, h = (ids[ids != net.pad] for ids in (P, H))
    mixed = [ids[torch.randperm(len(ids), generator=generator)][None]
             for ids in (p, h)]
    with evaluating(net):
        torch.testing.assert_close(net(mixed), net([p[None], h[None]]),
                                   atol=1e-4, rtol=1e-5)
        swapped = net([h[None], p[None]])
        seen.append(not torch.allclose(swapped, net(mixed), atol=1e-2))
assert not full_toy or np.mean(seen) > 0.5  # not one bag

# check 16.5-C4: twins get equal scores; at most one of two is right
assert all(a[0] == b[0] and a[2] != b[2] and sorted(a[1].split()) == sorted(
    b[1].split()) for a, b in zip(roles.test[::2], roles.test[1::2]))
assert all(y == (0 if p == h else 2) for p, h, y in roles.test)
assert not {frozenset(p.split()) for p, *_ in roles.train} & {
    frozenset(p.split()) for p, *_ in roles.test}
fresh = DecomposableAttention(roles.vocab, d, num_hiddens)
for some in (fresh, role_net):  # untrained and trained
    with evaluating(some):
        scores = some(role_test[:2])
    torch.testing.assert_close(scores[::2], scores[1::2], atol=1e-5, rtol=0)
assert max(history["test"]) <= 0.5
if full_toy:
    assert history["test"][-1] == 0.5
    assert abs(history["loss"][-1] - np.log(2)) < 0.03

# %% [markdown]
# On 64 combinations of two nouns and a verb that were not in training, the accuracy is one half, and the training loss comes to rest near $\log2\approx0.693$.
# No weights make the mean loss over twins lower: the best answer to both is a probability of one half for each of the two labels.
#
# Three remedies are known.
# Give the tokens positions (Exercise 16.5-1); let each sentence first attend to itself with a bias that depends on distance, as in a variant of Parikh and others; or let one Transformer read both sentences as one text, a *cross-encoder* ([Section 16.7](07-nli-bert.ipynb)).
#
# ## Real sentences, three tables of vectors
#
# On SNLI the words are many and the pairs few, so it matters what a network knows of words beforehand.
# Three tables of $d$ numbers for each word, here `snli_d`, all rows scaled to length $\sqrt d$:
#
# - **MiniLM**, the input vectors of a sentence encoder ([Section 16.2](02-sentiment-rnn.ipynb)). They are marked "seen": that encoder was trained on SNLI and on the captions from which SNLI's premises come.
# - **PPMI**, our own from co-occurrences in three corpora ([Section 15.5](../15-nlp-pretraining/05-glove.ipynb)) without SNLI. A word that they lack gets random numbers.
# - **dealt at random**: the rows of MiniLM, but each given to a random word. Only the match of words and vectors is lost.

# %%
data = NLIData(num_train=num_train, num_steps=40, seed=seed)
words = data.vocab.idx_to_token
corpus = read_corpus(*map(d2l.fetch, WORD_CORPORA), step=step)
counts = cooccurrence(corpus.ids, corpus.sentence_ids, 5, "harmonic",
                      len(corpus.vocab))
own = TokenEmbedding((corpus.vocab.idx_to_token,
                      svd_vectors(ppmi(counts, power=0.75), snli_d)[0]))
generator = torch.Generator().manual_seed(seed)

tables, lacking = {}, {}
for name, embedding in (("MiniLM (seen)", minilm_vectors(words, snli_d)),
                        ("PPMI", own)):
    V = load_embeddings(data.vocab, embedding)
    none = (V == 0).all(dim=1)
    V[none] = torch.randn(int(none.sum()), snli_d,
                          generator=generator)
    tables[name] = F.normalize(V, dim=1) * snli_d**0.5
    lacking[name] = none.float().mean().item()
    print(f"{name}: no vector for {lacking[name]:.1%} of {len(V)} words")
dealt = torch.randperm(len(words), generator=generator)
tables["dealt at random"] = tables["MiniLM (seen)"][dealt]

# %% [markdown]
# Each network has the same size and is trained on the same pairs for the same number of epochs, with the same three seeds.
# The control for "it uses the premise" is once more a twin whose premises are all `<unk>`.
# Beside them stand two linear classifiers of [Section 16.4](04-nli-data.ipynb), on the same pairs but trained to convergence: one reads the hypothesis alone, the other also knows which of its words the premise lacks, and how many.

# %%
parts = [data.tensors[name] for name in ("train", "test")]
truth = parts[1][2]
blind = [without_premise(part, data.vocab) for part in parts]
runs = {name: (table, parts) for name, table in tables.items()}
runs["MiniLM, no premise"] = tables["MiniLM (seen)"], blind
results, answers, losses, snli_nets = {}, {}, {}, {}
for name, (table, some) in runs.items():
    for run in range(num_seeds):
        torch.manual_seed(seed + run)
        net = DecomposableAttention(data.vocab, snli_d, snli_d, table,
                                    dropout=dropout)
        snli_nets[name, run] = net.to(d2l.try_device(quiet=True))
        losses[name, run] = fit_nli(net, some[0], None, epochs,
                                    seed=seed + run)["loss"]
        answers[name, run] = predict_pairs(net, some[1])
    results[name] = [(answers[name, r] == truth).float().mean().item()
                     for r in range(num_seeds)]
    print(f"{name:18}", *(f"{x:.3f}" for x in results[name]),
          f"mean {np.mean(results[name]):.3f}; loss, first run:",
          *(f"{x:.2f}" for x in losses[name, 0]))
ladder = {kind: torch.from_numpy(linear_predictions(
    data.train, data.test, kind)) for kind in ("hypothesis", "overlap")}
for kind, found in ladder.items():
    print(f"linear, {kind:10} {(found == truth).float().mean():.3f}")
print(f"standard error of one number {0.5 / len(truth)**0.5:.3f} at most")

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(6.4, 2.4))
for y, (name, values) in enumerate(results.items()):
    ax.plot(values, [y] * len(values), "o", color=f"C{y}")
for (kind, found), style in zip(ladder.items(), (":", "--")):
    ax.axvline((found == truth).float().mean().item(), color="0.3",
               ls=style, lw=1.2, label=f"linear, {kind}")
ax.set_yticks(range(len(results)), results)
ax.set(xlabel="test accuracy", ylim=(len(results) - 0.5, -0.5))
ax.legend(fontsize=7, loc="center", bbox_to_anchor=(0.72, 0.5))
d2l.describe(ax, """Test accuracies on SNLI, a dot for each run and a row for
    each kind of network; two vertical lines are the linear classifiers, that
    of overlap to the right of that of the hypothesis. The runs with
    MiniLM's vectors lie well to the right of those with the same vectors
    dealt at random; those with PPMI begin among the latter and reach
    part of the way to the former.""")

# %% [markdown]
# **Figure 16.5.4.** SNLI, three runs of each kind, and two linear classifiers. MiniLM's vectors are ahead of the same vectors dealt at random, and about level with their twin without premises; the overlap line is ahead of all.

# %%
# check 16.5-C8: vectors that know words help, at this budget
real = all(d2l.fetch(name).is_real for name in (
    "snli-dev-test", "minilm", "bert-vocab", *WORD_CORPORA))
mean = {name: np.mean(values) for name, values in results.items()}
net = snli_nets["MiniLM (seen)", 0].cpu()
assert torch.equal(net.vectors, tables["MiniLM (seen)"])  # frozen
assert not any(p is net.vectors for p in net.parameters())
assert torch.equal(predict_pairs(net, [t[:99] for t in parts[1]]),
                   answers["MiniLM (seen)", 0][:99])
best = (ladder["overlap"] == truth).numpy()
mine = (answers["MiniLM (seen)", 0] == truth).numpy()
gained, lost = int((mine & ~best).sum()), int((best & ~mine).sum())
p_value = binomtest(gained, max(gained + lost, 1)).pvalue
print(f"network against linear overlap: {gained} gained, {lost} lost, p = "
      f"{p_value:.2g}")
gain = {name: np.subtract(values, results["dealt at random"])
        for name, values in results.items()}
premise = mean["MiniLM (seen)"] - mean["MiniLM, no premise"]
print(f"with premise minus without: {premise:.3f}")
if real and (num_train, epochs, snli_d, step, seed) == (
        3000, 3, 48, 3, 0):
    assert gain["MiniLM (seen)"].min() > 0.03
    assert gain["MiniLM (seen)"].mean() > 0.05
    assert gain["PPMI"].mean() < gain["MiniLM (seen)"].mean() / 2
    assert best.mean() > max(results["MiniLM (seen)"]) + 0.02
    assert p_value < 1e-4 and abs(premise) < 0.05
    assert 0.3 < lacking["PPMI"] < 0.5 and lacking["MiniLM (seen)"] < 0.01
    assert all(loss[-1] < loss[-2] - 0.01 for loss in losses.values())

# %% [markdown]
# What these runs show, with 3000 pairs and three epochs, is modest.
# MiniLM's vectors are ahead of the same vectors dealt at random by more than 0.03 in each run and by more than 0.05 in the mean, so at this budget it helps to know words.
# That is a score with vectors marked "seen"; our own, which are clean, gain less than half as much in the mean, and not in every run.
# They come from a small corpus of other text, and between three and five in ten words of this vocabulary have none.
# Second, the twin without premises is within 0.05 of its network: these scores do not show that the premise is used.
# And a linear classifier that is told which words are new beats the network in each of the three runs; for the first, McNemar's test ([Section 4.6](../04-linear-classification/06-generalization-classification.ipynb)) puts this far beyond chance.
# The linear classifiers have converged, but none of the networks has: each training loss still falls in the last epoch, and with more pairs and epochs the order may change.
# The profile `gpu` trains on 16 000 pairs for 20 epochs; its results are not reported here.
#
# ## Where this stands today
#
# In 2016 the model reached 86.3 % on SNLI with all 550 thousand pairs: as much as an LSTM with memory and attention of the same year (Cheng and others, 2016), with about a ninth of its parameters; attention within each sentence made it 86.8 %, the state of the art of the time.
# Chen and others (2017) put recurrent networks in front of the same kind of alignment and behind it; together with networks that follow parse trees they reached 88.6 %.
# Large Transformers, pretrained and then trained on both sentences as one text, have gone past 90 % (a table in Banerjee and others, 2024).
# Models turned out to lean on order less than one would think: Sinha and others (2021) permuted the words of inputs, and models built on Transformers often kept their answers, and 98.7 % of MultiNLI's examples had at least one permutation to which the right label was given.
# That a model *can* represent order therefore does not mean that it uses it, and a test of twins like ours stays useful.
# Alignment of tokens lives on where speed counts: ColBERT (Khattab and Zaharia, 2020) encodes query and document separately, and scores them by the sum, over the tokens of the query, of the best match in the document.

# %% [markdown]
# ## Summary
#
# - Attend finds for each token a soft partner in the other sentence, compare looks at the two, aggregate adds up. $f$ runs $m+n$ times; the scores are $mn$.
# - Padding must be masked twice, in the softmax and in the sum. Without masks our network learned ToyNLI at one width, and its scores changed at others.
# - The scores do not depend on the order within a sentence, whatever the weights. On twins that differ in order alone accuracy is at most one half.
# - After training, hardly any word of a hypothesis gave its opposite more than a uniform weight, but that share also fell in a run with labels dealt at random: where weights lie is a question for counting, with controls.
# - At an equal, small budget on SNLI, MiniLM's vectors, whose encoder has seen SNLI, did better than the same vectors dealt at random; a linear classifier with features of overlap, on the same pairs but trained to convergence, did better still.
# - The difference between a network and its twin without premises, not its accuracy, tells whether it gains from the premise.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 16.5-1
#
# Add sinusoidal positions ([Section 11.6](../11-attention-and-transformers/06-self-attention-and-positions.ipynb)) to the projected vectors, and train on the twins again.

# %% [markdown]
# #### Solution 16.5-1

# %%
class Ordered(DecomposableAttention):
    """Decomposable attention whose tokens know their positions."""

    def embed(self, X):
        A, B, *lens = super().embed(X)
        codes = PositionalEncoding(A.shape[2]).P.to(A.device)
        return A + codes[:A.shape[1]], B + codes[:B.shape[1]], *lens


torch.manual_seed(seed)
ordered = Ordered(roles.vocab, d, num_hiddens, dropout=dropout)
history = fit_nli(ordered, role_train, role_test, 9, batch_size=32,
                  seed=seed)
print("test accuracy", *(f"{x:.3f}" for x in history["test"]))
assert not full_toy or history["test"][-1] > 0.8

# %% [markdown]
# With positions the twins differ, and in this run the network tells most of them apart, on combinations of two nouns and a verb that it was not trained on.

# %% [markdown]
# ### Exercise 16.5-2
#
# Use only $\sum_i\mathbf v_{A,i}$, or only $\sum_j\mathbf v_{B,j}$.
# Which of the two should suffice on ToyNLI?
# Think of the rule `by_sets` of [Section 16.4](04-nli-data.ipynb) first.

# %% [markdown]
# #### Solution 16.5-2

# %% [markdown]
# The rule runs over the words of the hypothesis: is one the opposite of a word of the premise, are all there?
# So one expects the side of $\mathbf v_B$, which puts each word of the hypothesis beside its partner, to be enough.
# On the side of $\mathbf v_A$ a word of the premise without a partner is no news, as the premise may say more, and a word of the hypothesis that is missing from the premise shows only through $\boldsymbol\beta$.

# %%
class OneSided(DecomposableAttention):
    """Aggregates the comparisons of one side only: 0 for A, 1 for B."""

    side = 1

    def forward(self, X):
        A, B, *lens = self.embed(X)
        V = list(self.compare(A, B, *self.attend(A, B, *lens)))
        V[1 - self.side] = torch.zeros_like(V[1 - self.side])
        return self.aggregate(*V, *lens)


one_sided = {}
for side in (0, 1):
    torch.manual_seed(seed)
    net = OneSided(toy.vocab, d, num_hiddens, dropout=dropout)
    net.side = side
    few = [tensor[:3000] for tensor in train]
    one_sided[side] = fit_nli(net, few, test, 3, seed=seed,
                              bucket=8)["test"]
    print(f"only v_{'AB'[side]}: after each epoch",
          *(f"{x:.3f}" for x in one_sided[side]))
assert not full_toy or min(one_sided[0][-1], one_sided[1][-1]) > 0.6

# %% [markdown]
# In this run, with half of the pairs and three epochs, both sides get most of the labels and neither nearly all, and the side of the premise is even ahead.
# With both sums the three networks with masks of Figure 16.5.2 were further after one epoch over all pairs, which is fewer steps.
# With other seeds the order can be the other way round, so the argument does not say which side learns faster: what is missing from the premise also shows through $\boldsymbol\beta$.

# %% [markdown]
# ### Exercise 16.5-3
#
# Build a model that gives a similarity in $[0,1]$ from the same blocks, and train it to predict the share of words that the two sentences of a pair have in common.

# %% [markdown]
# #### Solution 16.5-3

# %%
def overlap(pairs):
    """Words in common by words in either, (n,)."""
    sets = [[set(s.split()) for s in pair[:2]] for pair in pairs]
    return torch.tensor([len(p & h) / len(p | h) for p, h in sets])


torch.manual_seed(seed)
net = DecomposableAttention(toy.vocab, d, num_hiddens, dropout=dropout)
net.aggregate = Aggregate(num_hiddens, 1, dropout)
y, y_test = overlap(toy.train[:num_toy]), overlap(toy.test)
optimizer = torch.optim.Adam(net.parameters(), 2e-3)
for part in torch.arange(len(y)).split(64):
    X = cut([ids[part] for ids in train[:2]], net.pad)
    loss = F.mse_loss(net(X)[:, 0].sigmoid(), y[part])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with evaluating(net):
    guess = net(test[:2])[:, 0].sigmoid()
r = np.corrcoef(guess.numpy(), y_test.numpy())[0, 1]
print(f"correlation with the overlap on the test pairs: {r:.3f}")
assert 0 <= guess.min() and guess.max() <= 1 and (
    r > 0.8 or not full_toy)

# %% [markdown]
# A sigmoid on one output, mean squared error, one epoch.

# %% [markdown]
# ### Exercise 16.5-4
#
# Count the multiplications and additions of `Attend` for $m=n=50$, and of the alternative that runs $f$ on each pair of tokens.

# %% [markdown]
# #### Solution 16.5-4

# %% [markdown]
# A product of matrices $(p,q)$ and $(q,r)$ costs $2pqr$ operations.
# $f$ costs $2(dw+w^2)$ for a token, $w$ being its width, so together $2(m+n)(dw+w^2)$; the scores cost $2mnw$, and the two means $2\cdot2mnd$.
# On a pair of tokens the first layer reads $2d$ numbers, so $f$ costs $2(2dw+w^2)$, and that $mn$ times; we leave out the last step from $w$ numbers to one score.

# %%
m = n = 50
attend = Attend(d, num_hiddens).eval()
with FlopCounterMode(display=False) as counter, torch.no_grad():
    attend(torch.randn(1, m, d), torch.randn(1, n, d))
w = num_hiddens
formula = 2 * (m + n) * (d * w + w * w) + 2 * m * n * w + 4 * m * n * d
every = 2 * m * n * (2 * d * w + w * w) + 4 * m * n * d
print(f"counted {counter.get_total_flops()}, formula {formula}; with f on "
      f"every pair of tokens {every}")
assert counter.get_total_flops() == formula and every > 8 * formula

# %% [markdown]
# ## Sources
#
# - A. P. Parikh, O. Täckström, D. Das, J. Uszkoreit (2016). A decomposable attention model for natural language inference. [arXiv:1606.01933](https://arxiv.org/abs/1606.01933).
# - J. Cheng, L. Dong, M. Lapata (2016). Long short-term memory-networks for machine reading. [arXiv:1601.06733](https://arxiv.org/abs/1601.06733).
# - Q. Chen, X. Zhu, Z. Ling, S. Wei, H. Jiang, D. Inkpen (2017). Enhanced LSTM for natural language inference. [arXiv:1609.06038](https://arxiv.org/abs/1609.06038).
# - K. Sinha, P. Parthasarathi, J. Pineau, A. Williams (2021). UnNatural language inference. [arXiv:2101.00010](https://arxiv.org/abs/2101.00010).
# - O. Khattab, M. Zaharia (2020). ColBERT: efficient and effective passage search via contextualized late interaction over BERT. [arXiv:2004.12832](https://arxiv.org/abs/2004.12832).
# - S. Jain, B. C. Wallace (2019). Attention is not explanation. [arXiv:1902.10186](https://arxiv.org/abs/1902.10186).
# - S. Wiegreffe, Y. Pinter (2019). Attention is not not explanation. [arXiv:1908.04626](https://arxiv.org/abs/1908.04626).
# - S. Banerjee, A. Mahajan, A. Agarwal, E. Singh (2024). First train to generate, then generate to train: UnitedSynT5 for few-shot NLI. [arXiv:2412.09263](https://arxiv.org/abs/2412.09263).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, 2023, [d2l.ai](https://d2l.ai): the model without masks.
# - S. R. Bowman, G. Angeli, C. Potts, C. D. Manning (2015). A large annotated corpus for learning natural language inference. [arXiv:1508.05326](https://arxiv.org/abs/1508.05326).
