# ---
# jupyter:
#   d2l:
#     data: [time-machine]
#     profiles:
#       gpu:
#         max_epochs: 8
#         num_hiddens: 128
#         num_gpus: 1
#       smoke:
#         text_share: 0.08
#         num_seeds: 2
#         sense_epochs: 1
#     rehearsal:
#       max_epochs: 0.125
#       num_hiddens: 0.125
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
# # 10.4 Bidirectional recurrent neural networks
#
# A language model that writes from left to right may look only to the left.
# Many tasks have no such rule: to tag a word, to fill a gap or to encode a sentence before translating it, the whole sequence is there, and what follows may settle what came before.
# This section reads a sequence from both ends, measures what the second side is worth, and shows how the same layer, used in the wrong place, reports a perplexity that says next to nothing about how well it predicts.
#
# **You will**
#
# - build a bidirectional layer and check the library's against two layers that read in opposite directions;
# - detect with gradients which outputs see the future;
# - train a "language model" that cheats, and predict its perplexity from its last position and the length of the windows;
# - fill gaps from the left, from the right and from both sides, at equal parameters and steps, with three seeds.
#
# **Cost**: about 40 seconds on a CPU; a download of 0.2 MB, once.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.linear_regression import DataModule, Module
from d2l_helpers.chapters.modern_rnns import GRU
from d2l_helpers.chapters.recurrent_neural_networks import (
    RNN, RNNLM, NgramLM, RNNScratch, TimeMachine, fit_clipped, influence,
    rnn_forward)

d2l.use_style()

# %% tags=["parameters"]
max_epochs = 1  # passes over the training text
num_hiddens = 32  # in each direction
text_share = 1.0  # of the book
num_seeds = 3
sense_epochs = 3  # of 40 steps, in Exercise 10.4-4
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## Two neighbors are better than two predecessors
#
# Which word is missing?
#
# - She opened the ___.
# - She opened the ___ and drank from it.
# - She opened the ___ and walked in.
#
# Many words fit the first line, and the words after the gap decide which of them fit the others.
# We can measure that with counts alone.
# Take all triples $x_1x_2x_3$ of neighboring characters in *The Time Machine* and guess one character of a triple from the other two.
# The amount of context is the same for each of the three places.

# %%
real = d2l.fetch("time-machine").source == "real"
text = TimeMachine(1)
corpus, V = text.corpus, len(text.vocab)
corpus = corpus[:int(text_share * len(corpus))]
cuts = [int(share * len(corpus)) for share in (0.8, 0.9)]


def triples(tokens):
    """Counts of the triples x_1, x_2, x_3 of a sequence: (V, V, V)."""
    codes = (tokens[:-2] * V + tokens[1:-1]) * V + tokens[2:]
    return codes.bincount(minlength=V**3).reshape(V, V, V).double()


def table_perplexity(N, M, place):
    """Of place 0, 1 or 2 of the triples M given the others, by counts N.

    The counts are smoothed with five triples of the average frequencies.
    """
    others = [k for k in range(3) if k != place]
    average = N.sum(others, keepdim=True) / N.sum()
    p = (N + 5 * average) / (N.sum(place, keepdim=True) + 5)
    return torch.exp(-torch.xlogy(M, p).sum() / M.sum()).item()


N, M = triples(corpus[:cuts[0]]), triples(corpus[cuts[1]:])
table = {side: table_perplexity(N, M, place) for side, place in
         (("left", 2), ("right", 0), ("both", 1))}
print({side: round(p, 2) for side, p in table.items()})

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.6, 2.2))
ax.barh(["two before", "two after", "one on each side"],
        list(table.values()), color=["#0072B2", "#D55E00", "#009E73"])
ax.invert_yaxis()
ax.grid(axis="y", visible=False)
ax.set(xlabel="perplexity on unread text")
d2l.describe(ax, """Three bars of perplexity. Two characters before and two
    characters after give bars of nearly the same length, one character on
    each side a clearly shorter one.""")

# %% [markdown]
# **Figure 10.4.1.** Guessing a character from two others, by counts: one on each side is the better choice.
#
# Two characters after a gap are worth about as much as two before it, and one on each side is worth more than either.
# Both facts can be read off the entropies $H$ of the counts.
# With $H(X_3\mid X_1,X_2)=H(X_1,X_2,X_3)-H(X_1,X_2)$ and its analogue for the middle,
#
# $$H(X_3\mid X_1,X_2)-H(X_2\mid X_1,X_3)=H(X_1,X_3)-H(X_1,X_2)=I(X_1;X_2)-I(X_1;X_3). \tag{10.4.1}$$
#
# Here $X_1,X_2,X_3$ are the characters of a random triple, and $I(X_1;X_2)=H(X_1)+H(X_2)-H(X_1,X_2)$ is their *mutual information*; the last step uses that $X_2$ and $X_3$ have the same distribution.
# So the advantage is what a character says about its neighbor *beyond* what it says about the next but one.
# Toward the left nothing changes: $H(X_1\mid X_2,X_3)=H(X_1,X_2,X_3)-H(X_2,X_3)$, and the pairs $X_1X_2$ and $X_2X_3$ are the same pairs of the text, up to its ends.
# Shannon (1951) noted this symmetry of the entropies of $n$-grams.

# %%
# check: the identity for the counts of the training text, in nats
def entropy(counts):
    p = counts / counts.sum()
    return -torch.xlogy(p, p).sum()


def conditional_entropy(place):  # from the probabilities given the others
    p = N / N.sum(place, keepdim=True).clamp(min=1)
    return -torch.xlogy(N, p).sum() / N.sum()


near, far = (entropy(n.sum(0)) + entropy(n.sum(1)) - entropy(n)
             for n in (N.sum(2), N.sum(1)))
print(f"mutual information: neighbors {near:.2f}, next but one {far:.2f}")
first, middle, last = map(conditional_entropy, range(3))
assert abs((last - middle) - (near - far)) < 1e-3
assert abs(first - last) < 1e-3 and near > far
few = triples(torch.tensor([3, 1, 2, 0]))
assert few[3, 1, 2] == few[1, 2, 0] == 1 and few.sum() == 2
# p(2 | 3, 1) = p(0 | 1, 2) = (1 + 5 / 2) / (1 + 5)
assert math.isclose(table_perplexity(few, few, 2), 12 / 7)
if real and text_share == 1:
    assert abs(near - 0.553) < 0.002 and abs(far - 0.199) < 0.002
    assert abs(table["both"] - 4.49) < 0.01
    assert abs(table["left"] - table["right"]) < 0.01
    held_out = table["left"] / table["both"]
    assert abs(math.log(held_out) - (near - far)) < 0.01

# %% [markdown]
# ## Two chains
#
# A network can use more than one character on each side.
# Schuster and Paliwal (1997) proposed the *bidirectional recurrent network*: one recurrent layer reads from the first step to the last, another from the last to the first, and the output sees both.
#
# ![Four inputs each feed a box of a forward chain, whose arrows run to the right, and a box of a backward chain, whose arrows run to the left. At each step the two states are put side by side and give the output.](img/bi-chains.svg)
#
# **Figure 10.4.2.** Two chains that do not touch, and meet in the output.
#
# In equations,
#
# $$\begin{aligned}\mathbf{H}^{(f)}_t&=\phi\left(\mathbf{X}_t\mathbf{W}_{xh}^{(f)}+\mathbf{H}^{(f)}_{t-1}\mathbf{W}_{hh}^{(f)}+\mathbf{b}_h^{(f)}\right),\\\mathbf{H}^{(b)}_t&=\phi\left(\mathbf{X}_t\mathbf{W}_{xh}^{(b)}+\mathbf{H}^{(b)}_{t+1}\mathbf{W}_{hh}^{(b)}+\mathbf{b}_h^{(b)}\right),\end{aligned}\qquad\mathbf{O}_t=\mathbf{H}_t\mathbf{W}_{hq}+\mathbf{b}_q. \tag{10.4.2}$$
#
# $\mathbf{X}_t\in\mathbb{R}^{n\times d}$ is the input of step $t$ for $n$ sequences, $\mathbf{H}^{(f)}_t,\mathbf{H}^{(b)}_t\in\mathbb{R}^{n\times h}$ are the states of the forward and the backward layer and $\mathbf{H}_t\in\mathbb{R}^{n\times2h}$ holds them side by side.
# Each direction has its own $\mathbf{W}_{xh}\in\mathbb{R}^{d\times h}$, $\mathbf{W}_{hh}\in\mathbb{R}^{h\times h}$ and $\mathbf{b}_h\in\mathbb{R}^{h}$; $\mathbf{W}_{hq}$ is $2h\times q$ and $\mathbf{b}_q$ has shape $(q,)$.
# With one unit, $\phi(x)=x$, $W_{xh}=1$, $W_{hh}=\frac12$, no bias and the inputs 1, 2, 4 the forward states are 1, 2.5, 5.25, the backward states, listed from the first step to the last, 3, 4, 4, so $\mathbf{H}_2=(2.5,4)$.
#
# In code the backward layer is an ordinary layer that is given the sequence reversed; what it returns is reversed again, so that index $t$ means the same step in both.

# %% tags=["export"]
class BiRNNScratch(Module):
    """Two layers of RNNScratch, one of which reads from the end.

    Their outputs are put side by side, so `num_hiddens` is twice that of
    each.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.f_rnn = RNNScratch(num_inputs, num_hiddens, sigma)
        self.b_rnn = RNNScratch(num_inputs, num_hiddens, sigma)
        self.num_hiddens *= 2  # of the outputs

    def forward(self, inputs, Hs=None):
        """Outputs (T, n, 2h) and the two last states for (T, n, d)."""
        f_H, b_H = Hs or (None, None)
        f_outputs, f_H = self.f_rnn(inputs, f_H)
        b_outputs, b_H = self.b_rnn(inputs.flip(0), b_H)
        return torch.cat((f_outputs, b_outputs.flip(0)), dim=2), (f_H, b_H)

# %% [markdown]
# The second `flip` is easily forgotten, and no shape reveals it: without it $\mathbf{H}_t$ pairs the forward state of step $t$ with the backward state of step $T+1-t$.

# %%
# check: the example, and each state from its own equation
one, half = torch.ones(1, 1), torch.full((1, 1), 0.5)
Xs, zero = torch.tensor([1.0, 2.0, 4.0]).reshape(3, 1, 1), torch.zeros(1, 1)
f, b = (rnn_forward(X, zero, (one, half, 0), phi=lambda x: x).flatten()
        for X in (Xs, Xs.flip(0)))
assert f.tolist() == [1, 2.5, 5.25] and b.flip(0).tolist() == [3, 4, 4]

torch.manual_seed(0)
net, X = BiRNNScratch(5, 4, sigma=0.7), torch.randn(7, 3, 5)
for rnn in (net.f_rnn, net.b_rnn):
    nn.init.normal_(rnn.b_h)
H, (f_last, b_last) = net(X)
for rnn, part, steps in ((net.f_rnn, H[..., :4], range(7)),
                         (net.b_rnn, H[..., 4:], range(6, -1, -1))):
    state = torch.zeros(3, 4)
    for t in steps:
        state = torch.tanh(X[t] @ rnn.W_xh + state @ rnn.W_hh + rnn.b_h)
        torch.testing.assert_close(part[t], state)
assert H.shape == (7, 3, 8) and net.num_hiddens == 8
assert torch.equal(f_last, H[-1, :, :4]) and torch.equal(b_last, H[0, :, 4:])

# %% tags=["hide-input"]
# check: states that are handed over, and the scale of the start
starts = torch.randn(3, 4), torch.randn(3, 4)
moved, _ = net(X, starts)
alone = (net.f_rnn(X, starts[0])[0],
         net.b_rnn(X.flip(0), starts[1])[0].flip(0))
torch.testing.assert_close(moved, torch.cat(alone, dim=2))
assert (moved - H).abs().amax(dim=(0, 1)).min() > 1e-3
for sigma in (0.01, 0.5):
    given = {} if sigma == 0.01 else {"sigma": sigma}
    for name, p in BiRNNScratch(40, 50, **given).named_parameters():
        if "W" in name:
            assert abs(p.std() / sigma - 1) < 0.1
        else:
            assert not p.any()

# %% [markdown]
# ## The library's layer
#
# `nn.RNN`, `nn.LSTM` and `nn.GRU` take `bidirectional=True`.
# The parameters of the backward direction have the suffix `_reverse`, and $h$ counts the units of *each* direction.

# %% tags=["export"]
class BiGRU(RNN):
    """`nn.GRU` in both directions; `num_hiddens` is twice that of each."""

    def __init__(self, num_inputs, num_hiddens):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.GRU(num_inputs, num_hiddens, bidirectional=True)
        self.num_hiddens *= 2  # of the outputs

# %%
# check 10.4-C1: two GRUs, one of which reads the reversed sequence
torch.manual_seed(1)
bi, X = BiGRU(28, 32), torch.randn(9, 4, 28)
names = [name for name, _ in nn.GRU(28, 32).named_parameters()]
halves = []
for suffix, flip in (("", False), ("_reverse", True)):
    single = nn.GRU(28, 32)
    single.load_state_dict({name: bi.rnn.state_dict()[name + suffix]
                            for name in names})
    with torch.no_grad():
        out, _ = single(X.flip(0) if flip else X)
    halves.append(out.flip(0) if flip else out)
output, h_n = bi(X)
assert torch.equal(output, torch.cat(halves, dim=2))
assert output.shape == (9, 4, 64) == (9, 4, bi.num_hiddens)

# %% [markdown]
# Our own layer equals `nn.RNN` in both directions, too, gradients included:

# %%
# check: BiRNNScratch is nn.RNN(bidirectional=True)
torch.manual_seed(1)
net, library = BiRNNScratch(28, 32, 0.3), nn.RNN(28, 32, bidirectional=True)
pairs = [(getattr(library, name + suffix), getattr(rnn, own))
         for suffix, rnn in (("", net.f_rnn), ("_reverse", net.b_rnn))
         for name, own in (("weight_ih_l0", "W_xh"), ("bias_ih_l0", "b_h"),
                           ("weight_hh_l0", "W_hh"))]
with torch.no_grad():
    for theirs, ours in pairs:
        if ours.dim() == 1:
            nn.init.normal_(ours)
        theirs.copy_(ours.T if ours.dim() == 2 else ours)
    library.bias_hh_l0.zero_()
    library.bias_hh_l0_reverse.zero_()
outputs = net(X)[0], library(X)[0]
torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)
for out in outputs:
    (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)
     ).sum().backward()
for theirs, ours in pairs:
    grad = theirs.grad.T if ours.dim() == 2 else theirs.grad
    torch.testing.assert_close(grad, ours.grad, rtol=0, atol=1e-4)

# %% [markdown]
# Two directions cost twice the parameters and twice the work of one, and the output layer sees $2h$ features.
# So does the next layer of a deep network (Exercise 10.4-2).

# %%
# check 10.4-C3: twice the parameters
sizes = {kind.__name__: [count_params(kind(28, 32, bidirectional=both))
                         for both in (False, True)]
         for kind in (nn.RNN, nn.GRU)}
print(sizes)
assert sizes == {"RNN": [1984, 3968], "GRU": [5952, 11_904]}
assert count_params(bi) == 11_904
assert count_params(net) == 2 * count_params(RNNScratch(28, 32)) == 3904

# %% [markdown]
# ### Where a sequence ends
#
# A sentence is often summed up in its last state.
# With two directions there are two ends.
# The backward layer ends at position *1*, so its final state is `output[0, :, h:]`.
# A common slip is to take `output[-1]` for everything: its backward half has read a single input.

# %%
# check 10.4-C2: h_n, and what the backward half of output[-1] has read
assert torch.equal(h_n[0], output[-1, :, :32])
assert torch.equal(h_n[1], output[0, :, 32:])
seen = influence(lambda X: bi(X)[0][..., 32:], X) > 0  # (T, T)
print("inputs read by the backward half of output[-1]:",
      seen[-1].sum().item(), " of output[0]:", seen[0].sum().item())
assert seen[-1].tolist() == [False] * 8 + [True] and seen[0].all()

# %% [markdown]
# Padding adds a second trap.
# The forward layer meets it at the end, where its states can be ignored; the backward layer meets it first and carries it into every real step.
# `pack_padded_sequence` ([Section 9.6](../09-recurrent-neural-networks/06-rnn-concise.ipynb)) starts each sequence of the backward layer at its own end.
# Exercise 10.4-5 measures the difference and reverses unequal lengths by hand.
#
# ## Who sees what
#
# `influence` of [Section 9.4](../09-recurrent-neural-networks/04-recurrent-neural-networks.ipynb) gives the norm of $\partial\mathbf{O}_t/\partial\mathbf{X}_s$ for all pairs of steps.
# For one direction it is zero above the diagonal; for two directions no entry is.

# %%
# check 10.4-C4: an output that depends on later inputs
def step_scores(model):
    """Maps inputs (T, n, V) to the scores (T, n, V) of a model."""
    return lambda Xs: model.output_layer(model.rnn(Xs)[0]).transpose(0, 1)


torch.manual_seed(2)
Xs = torch.randn(12, 8, V)
seen = [influence(step_scores(RNNLM(rnn, V)), Xs)
        for rnn in (GRU(V, 32), BiGRU(V, 32))]
later = torch.ones(12, 12).triu(1).bool()
print("gradient of output 3 with respect to input 5:",
      *(f"{m[2, 4]:.1g}" for m in seen))
assert not seen[0][later].any() and (seen[0][~later] > 0).all()
assert seen[1][2, 4] > 1e-3 and (seen[1] > 0).all()

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6.6, 3), layout="constrained")
for ax, m, title in zip(axes, seen, ("one direction", "two directions")):
    image = ax.imshow(m.clamp(min=1e-6).log10(), cmap="viridis",
                      vmin=-6, vmax=0.5, extent=(0.5, 12.5, 12.5, 0.5))
    ax.set(title=title, xlabel="input step s", xticks=[1, 4, 8, 12],
           yticks=[1, 4, 8, 12])
    ax.grid(visible=False)
axes[0].set_ylabel("output step t")
fig.colorbar(image, ax=axes, label="log10 of the gradient's norm")
d2l.describe(axes, """Two heat maps of output step against input step. With
    one direction all cells above the diagonal have the lowest color; with
    two directions the map is bright on the diagonal and fades on both sides,
    more or less symmetrically.""")

# %% [markdown]
# **Figure 10.4.3.** Untrained GRUs: with two directions an output sees inputs on both sides.
#
# ## A language model that cheats
#
# Let us make the mistake on purpose.
# A language model gets the characters $x_1,\dots,x_T$ and must predict $x_2,\dots,x_{T+1}$.
# With a bidirectional layer the answer at step $t$ is the input of step $t+1$, which the backward state has already read.
# The shapes fit, the training runs, and no error appears.
#
# How low will the perplexity be?
# Copying works for the first $T-1$ steps; only the last target, $x_{T+1}$, is hidden.
# If the copies cost nothing and the last prediction has perplexity $p$, the mean loss is $\frac1T\log p$, and the perplexity of the whole is
#
# $$\exp\left(\tfrac1T\log p\right)=p^{1/T}. \tag{10.4.3}$$
#
# For $p=8$ and $T=32$ this is $8^{1/32}\approx1.067$, a number made of the length of the windows more than of language.
#
# We cut the book into windows of 32 characters.
# The first eight tenths are for training, and one epoch is one pass over them; the ninth tenth is for choosing learning rates, and the last tenth for all numbers reported.

# %%
class Book(TimeMachine):
    """Windows without overlap, to predict the "next" characters.

    With "previous" the windows are read from the end; with "own" the labels
    are the characters of the window themselves. Training windows end before
    `cuts[0]`, validation windows lie between the two `cuts`.
    """

    def __init__(self, batch_size, predict):
        super().__init__(batch_size)
        self.predict = predict

    def get_dataloader(self, train):
        first, end = (0, cuts[0]) if train else cuts
        rows = slice(first, end - self.num_steps, self.num_steps)
        X, Y = self.X[rows], self.Y[rows]
        pair = {"next": (X, Y), "own": (X, X),
                "previous": (Y.flip(1), X.flip(1))}[self.predict]
        return self.get_tensorloader(pair, train)

# %% tags=["hide-input"]
# check: the three parts of the text do not overlap
for train_part, (first, end) in ((True, (0, cuts[0])), (False, cuts)):
    book = Book(32, "next")
    X, Y = book.get_dataloader(train_part).tensors
    assert torch.equal(X.flatten(), corpus[first:first + X.numel()])
    assert torch.equal(Y.flatten(), corpus[first + 1:first + 1 + Y.numel()])
    assert 0 <= end - (first + 1 + Y.numel()) < 32 and X.shape[1] == 32
    book.predict = "previous"
    R, Q = book.get_dataloader(train_part).tensors
    assert torch.equal(R.flip(1), Y) and torch.equal(Q.flip(1), X)
    book.predict = "own"
    own = book.get_dataloader(train_part).tensors
    assert torch.equal(own[0], X) and torch.equal(own[1], X)
book.generator = torch.Generator().manual_seed(0)
for loader, shuffled in ((book.train_dataloader(), True),
                         (book.val_dataloader(), False)):
    first_rows = loader.tensors[0][:32]
    assert torch.equal(next(iter(loader))[0], first_rows) != shuffled
assert len(corpus) == int(text_share * len(book.corpus))
assert [round(10 * cut / len(corpus), 2) for cut in cuts] == [8, 9]

# %% [markdown]
# For comparison we train a causal GRU whose width gives it nearly as many parameters as the bidirectional network has, output layer included.
# Each of the two gets its own rate for Adam: the one of 0.01, 0.03 and 0.1 with the lowest validation loss for seed 0.

# %%
def size(rnn):
    """Parameters of a language model with this layer."""
    return count_params(RNNLM(rnn, V))


width = min(range(num_hiddens, 2 * num_hiddens), key=lambda h: abs(
    size(GRU(V, h)) - size(BiGRU(V, num_hiddens))))
full_run = num_hiddens >= 32 and text_share == 1 and num_seeds >= 3
cpu_size = full_run and num_hiddens == 32 and max_epochs == 1
books = {predict: Book(32, predict)
         for predict in ("next", "previous", "own")}


def run(make_model, predict, rate, seed):
    """A trained model, on the CPU, and its last validation loss."""
    torch.manual_seed(seed)
    model = make_model()
    history = fit_clipped(
        model, books[predict], max_epochs, seed=seed, num_gpus=num_gpus,
        optimizer=lambda params: torch.optim.Adam(params, lr=rate))
    return model.cpu(), history["val_loss"][-1]


def tuned_runs(make_model, predict, rates=(0.01, 0.03, 0.1)):
    """The best rate for seed 0, and a model for each seed."""
    trials = {rate: run(make_model, predict, rate, 0) for rate in rates}
    best = min(rates, key=lambda rate: trials[rate][1])
    return best, [trials[best][0]] + [
        run(make_model, predict, best, seed)[0]
        for seed in range(1, num_seeds)]

# %%
def causal():
    return RNNLM(GRU(V, width), V)


def cheat():
    return RNNLM(BiGRU(V, num_hiddens), V)


chosen, models = {}, {}
for kind, make_model in (("left", causal), ("cheat", cheat)):
    chosen[kind], models[kind] = tuned_runs(make_model, "next")
    print(f"{kind}: {count_params(make_model())} parameters,"
          f" rate {chosen[kind]}")

# %% tags=["rtol=0.1"]
unread = corpus[cuts[1]:]


def position_losses(model, X, Y):
    """Mean loss at each position, (T,), for windows X and labels Y."""
    with torch.no_grad():
        return F.cross_entropy(model(X).transpose(1, 2), Y,
                               reduction="none").mean(dim=0)


def unread_losses(model, T):
    """Mean losses (T,) of the next characters in windows of T."""
    windows = unread.unfold(0, T + 1, T)
    return position_losses(model, windows[:, :-1], windows[:, 1:])


losses = {kind: torch.stack([unread_losses(model, 32)
                             for model in models[kind]])
          for kind in ("left", "cheat")}  # (seeds, T) each
for kind, values in losses.items():
    print(f"{kind}: perplexity",
          *(f"{p:.3f}" for p in values.mean(dim=1).exp().tolist()),
          " last position", *(f"{p:.1f}" for p in values[:, -1].exp()))
floors = (losses["cheat"][:, -1] / 32).exp()
print("p^(1/32):", *(f"{p:.3f}" for p in floors.tolist()))

# %%
# check 10.4-C5: the perplexity of the cheat is p^(1/T)
perplexity = losses["cheat"].mean(dim=1).exp()
assert (perplexity >= floors).all()
assert losses["left"].shape == (num_seeds, 32)
assert 0.97 < count_params(causal()) / count_params(cheat()) < 1.03
if full_run and real:
    assert perplexity.max() < 1.09 and (perplexity / floors).max() < 1.01
    assert losses["left"].mean(dim=1).exp().min() > 3
    assert losses["cheat"][:, :-1].max() < 0.1  # copied
    gap = losses["cheat"][:, -1].min() - losses["left"][:, -1].max()
    assert gap > 0.1
    assert not cpu_size or width == 51
for kind in losses:  # each seed has weights of its own from the start
    a, b = (model.rnn.rnn.weight_hh_l0.flatten() for model in models[kind][:2])
    assert F.cosine_similarity(a, b, dim=0).abs() < 0.2
    assert len(losses[kind].unique(dim=0)) == num_seeds
# and reads the windows in an order of its own
assert books["next"].generator.initial_seed() == num_seeds - 1
assert torch.equal(unread, corpus[-len(unread):])
assert abs(len(unread) / len(corpus) - 0.1) < 0.001
pieces = [unread[i:i + 33] for i in range(0, len(unread) - 32, 32)]
explicit = torch.stack(pieces)
torch.testing.assert_close(
    position_losses(models["cheat"][0], explicit[:, :-1], explicit[:, 1:]),
    losses["cheat"][0])

# %% [markdown]
# The perplexity is below 1.09, and (10.4.3) gives it to within one per cent.
# At the only position that is a prediction, the cheat is *worse* than the causal network in all three seeds, with equal parameters within one per cent, as many steps and a rate from the same grid.
# Of its 32 targets per window, only that one has to be predicted.
# To see whether this is enough to make it worse, we train the causal network, with the same rate and as many steps, on the last target of each window only.

# %% tags=["rtol=0.1"]
class LastOnly(RNNLM):
    """A causal network that learns from the last target of each window."""

    def loss(self, Y_hat, Y, averaged=True):
        return super().loss(Y_hat[:, -1:], Y[:, -1:], averaged)


def last_only():
    return LastOnly(GRU(V, width), V)


control = torch.stack([
    unread_losses(run(last_only, "next", chosen["left"], seed)[0], 32)[-1]
    for seed in range(num_seeds)])
print("one target: last position", *(f"{p:.1f}" for p in control.exp()))

# %%
# check: one target is learned, and accounts for the difference
with torch.no_grad():
    Y_hat, Y = models["left"][0](pieces[0][None, :-1]), pieces[0][None, 1:]
    torch.testing.assert_close(last_only().loss(Y_hat, Y),
                               F.cross_entropy(Y_hat[0, -1:], Y[0, -1:]))
if full_run and real:
    assert control.min() - losses["left"][:, -1].max() > 0.1
    assert count_params(last_only()) == count_params(causal())
    assert not cpu_size or (
        control.mean() - losses["cheat"][:, -1].mean()).abs() < 0.13

# %% [markdown]
# With one target per window, the causal network is about as bad as the cheat: the missing targets are enough.
#
# Two more measurements show what the number is made of.
# First, the same trained networks on windows of other lengths, without any further training.
# Second, characters drawn uniformly from an alphabet of 27: no predictor that has not seen the answer can have an expected loss below $\log27$, a perplexity of 27.

# %% tags=["rtol=0.2"]
lengths = (2, 4, 8, 16, 32, 64, 128)
by_length = torch.stack([torch.stack([
    torch.stack((values.mean(), values[-1])) for values in
    (unread_losses(model, T) for T in lengths)])
    for model in models["cheat"]])  # (seeds, lengths, 2)
honest = torch.tensor([unread_losses(models["left"][0], T).mean().exp()
                       for T in lengths])
letters = torch.tensor([i for i in range(V) if i != text.vocab.unk])
noise = letters[torch.randint(len(letters), (500, 33),
                              generator=torch.Generator().manual_seed(0))]
on_noise = {kind: torch.stack([
    position_losses(model, noise[:, :-1], noise[:, 1:])
    for model in models[kind]]) for kind in ("left", "cheat")}  # (seeds, T)
for kind, values in on_noise.items():
    print(f"{kind}: perplexity of noise",
          *(f"{p:.3g}" for p in values.mean(dim=1).exp().tolist()))

# %% tags=["hide-input", "rtol=0.1"]
fig, ax = plt.subplots(figsize=(6, 3))
for k, values in enumerate(by_length):
    ax.plot(lengths, values[:, 0].exp(), "C1o", ms=5, fillstyle="none",
            label="two directions" if k == 0 else None)
ax.plot(lengths, [p.exp() ** (1 / T) for p, T in
                  zip(by_length[0, :, 1], lengths)], "k-", lw=1,
        label="$p^{1/T}$, seed 0")
ax.plot(lengths, honest, "C0s--", ms=4, label="one direction, seed 0")
ax.set(xscale="log", yscale="log", xlabel="length T of the windows",
       ylabel="perplexity", xticks=lengths, xticklabels=lengths,
       yticks=[1, 2, 4, 8], yticklabels=[1, 2, 4, 8])
ax.minorticks_off()
ax.legend()
d2l.describe(ax, """Perplexity against the length of the windows from 2 to
    128, both axes logarithmic. The circles of the networks with two
    directions lie on the curve p to the 1/T and fall from about 3 to nearly
    1; the line of the network with one direction falls from about 9 to
    about 6.""")

# %% [markdown]
# **Figure 10.4.4.** The cheat's "perplexity" follows the curve $p^{1/T}$, with $p$ measured at each length; the networks are the same throughout.

# %%
# check: the law holds at other lengths, and the cheat predicts noise
law = by_length[..., 1] / torch.tensor(lengths)  # log of p^(1/T)
assert (by_length[..., 0] >= law).all()
assert noise.max() < V and not (noise == text.vocab.unk).any()
if full_run and real:
    assert (by_length[..., 0] - law).max() < 0.01
    assert (by_length[:, 1:, 0] / by_length[:, :-1, 0] - 0.5).abs().max() < 0.1
    assert by_length[:, 0, 0].min() > math.log(2)
    assert by_length[:, -1, 0].max() < math.log(1.03)
    assert honest[0] > honest[-1] > 3
    assert len(noise.unique()) == 27
    assert on_noise["left"].mean(dim=1).min() > math.log(27)
if cpu_size and real:
    assert on_noise["cheat"].mean(dim=1).max() < math.log(6)
    copies = on_noise["cheat"][:, :-1].sum(dim=1)
    assert (copies > 2 * on_noise["cheat"][:, -1]).all()

# %% [markdown]
# Twice the length, about half the logarithm.
# And on noise the cheat reports a perplexity below 6.
# There the copies are no longer free and cost more than the last position does, so (10.4.3) does not apply.
#
# Does it at least write English?
# We continue 64 unread windows by 32 characters each.
# The last position of a window is the one place where the cheat is honest, so we read the last 32 characters anew for each draw.
# The judge is a table of 5-grams ([Section 9.3](../09-recurrent-neural-networks/03-language-models.ipynb)) from the training text; it also scores how the book goes on.

# %% tags=["generated", "chaotic"]
def sample(model, tokens, number, generator):
    """`number` characters more for each row of tokens (n, T)."""
    for _ in range(number):
        with torch.no_grad():
            p = model(tokens[:, -32:])[:, -1].softmax(dim=1)
        drawn = torch.multinomial(p, 1, generator=generator)
        tokens = torch.cat((tokens, drawn), dim=1)
    return tokens


judge = NgramLM(5, V, eps=5).fit(corpus[:cuts[0]])


def judged(tokens):
    """The judge's perplexity of all but 32 characters of each row."""
    return math.exp(-torch.cat([judge.log_probs(row[28:])
                                for row in tokens]).mean())


rows = unread.unfold(0, 64, 64)[:64]
verdict = {"book": [judged(rows)]}
for kind in ("left", "cheat"):
    written = [sample(model, rows[:, :32], 32,
                      torch.Generator().manual_seed(seed))
               for seed, model in enumerate(models[kind])]
    verdict[kind] = [judged(tokens) for tokens in written]
    print(repr("".join(text.vocab.to_tokens(written[0][0]))))
for kind, values in verdict.items():
    print(f"{kind}: 5-gram perplexity", *(f"{p:.1f}" for p in values))

# %%
# check: the draws and the judge do what is said
oldest = sample(lambda X: 100 * F.one_hot(X[:, :1], V).float(),
                rows[:, :40], 32, torch.Generator())
assert torch.equal(oldest, torch.cat((rows[:, :40], rows[:, 8:40]), dim=1))
assert all(tokens.shape == (len(rows), 64) for tokens in written)
assert all(torch.equal(tokens[:, :32], rows[:, :32]) for tokens in written)
assert not torch.equal(written[0], written[1])
again = [sample(models["left"][0], rows[:, :32], 2,
                torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
assert torch.equal(again[0], again[1]) and not torch.equal(*again[1:])
assert torch.equal(rows.flatten(), unread[:rows.numel()])
tail = torch.cat([judge.log_probs(row)[28:] for row in rows])
assert len(tail) == 32 * len(rows)  # the fifth character is the first
assert math.isclose(judged(rows), math.exp(-tail.mean()), rel_tol=1e-6)
if cpu_size and real:
    fives = {kind: torch.tensor(values) for kind, values in verdict.items()}
    assert abs(fives["book"].item() - 4.80) < 0.05  # of unread text
    assert fives["cheat"].min() > 5 * fives["book"].item()
    assert fives["left"].min() > 2 * fives["book"].item()
    assert fives["cheat"].min() > 1.4 * fives["left"].max()

# %% [markdown]
# By this judge, the cheat's continuations have more than five times the perplexity of the book's.
# Those of the causal network are worse than the book, too, after one pass over a short text, but better than the cheat's in every pair of seeds.
# The perplexities above had said the opposite.
#
# ## Filling gaps
#
# Where the characters after a gap are part of the task, both sides are allowed, except for the character itself.
# One way is to replace it with a blank:

# %%
def cloze_batch(windows, position, blank):
    """Windows (n, T) with a blank at `position`; what was there, (n,)."""
    blanked = windows.clone()
    blanked[:, position] = blank
    return blanked, windows[:, position]


W = unread.unfold(0, 33, 8)  # (n, 33)
blanked, answers = cloze_batch(W, 16, blank=text.vocab.unk)
for row in blanked[:3]:
    print("".join(text.vocab.to_tokens(row)).replace("<unk>", "_"))
assert torch.equal(answers, W[:, 16]) and answers.shape == (len(W),)
assert torch.equal(W[1], unread[8:41])
rest = torch.arange(33) != 16
assert torch.equal(blanked[:, rest], W[:, rest])
assert (blanked[:, 16] == text.vocab.unk).all()
assert (W != text.vocab.unk).all()  # the windows are as they were

# %% [markdown]
# Taylor (1953) had people fill in deleted words to measure how readable a text is, and called it *cloze*; here characters are missing.
# With one blank a window gives one target.
# A single layer can fill all positions at once: score $x_t$ from $\mathbf{H}^{(f)}_{t-1}$ and $\mathbf{H}^{(b)}_{t+1}$, the states *beside* it, neither of which has read it.
#
# ![Five characters, of which the third is unknown. The forward states have read the first two, the backward states the last two; forward state 2 and backward state 4 together give the scores of the third.](img/bi-gap.svg)
#
# **Figure 10.4.5.** Each direction stops one step before the gap.

# %%
class Gap(RNNLM):
    """Scores (n, T, V) of each character from the states beside it."""

    def from_inputs(self, inputs):
        """The scores for inputs (T, n, V) that need not be one-hot."""
        H, _ = self.rnn(inputs)  # (T, n, 2h)
        f, b = H.chunk(2, dim=2)
        edge = torch.zeros_like(f[:1])
        H = torch.cat((torch.cat((edge, f[:-1])),
                       torch.cat((b[1:], edge))), dim=2)
        return self.output_layer(H)

    def forward(self, X):
        return self.from_inputs(self.one_hot(X))

# %% [markdown]
# All scores of a window come from one call, and none depends on its own character; all depend on every other one:

# %%
# check: exactly the own character is hidden
def hidden_inputs(model):
    """Which of 9 scores do not depend on which character: (9, 9), bool."""
    torch.manual_seed(3)
    return influence(lambda Xs: model.from_inputs(Xs).transpose(0, 1),
                     torch.randn(9, 4, V)) == 0


torch.manual_seed(3)
fresh = Gap(BiGRU(V, 32), V)
assert torch.equal(hidden_inputs(fresh), torch.eye(9).bool())
with torch.no_grad():
    assert torch.equal(fresh(blanked)[:, 16], fresh(W)[:, 16])
    f = fresh.rnn(fresh.one_hot(W[:, :16]))[0][-1, :, :32]
    b = fresh.rnn(fresh.one_hot(W[:, 17:]))[0][0, :, 32:]
    torch.testing.assert_close(fresh.linear(torch.cat((f, b), dim=1)),
                               fresh(W)[:, 16], rtol=0, atol=1e-5)

# %% [markdown]
# Three networks fill the same gaps: from the left, the causal network that we have; from the right, one like it that is trained on reversed windows; from both sides, the new one.
# They have equal parameters within one per cent, make the same number of steps on the same text, with 32 targets per window, and each gets its rate from the same grid.
# The gap is the middle of 33 unread characters.

# %% tags=["rtol=0.1"]
def gap_scores(side, model, windows, k):
    """Scores (n, V) of character k from its left, its right, or both."""
    with torch.no_grad():
        if side == "left":
            return model(windows[:, :k])[:, -1]
        if side == "right":
            return model(windows[:, k + 1:].flip(1))[:, -1]
        return model(windows)[:, k]


def filler():
    return Gap(BiGRU(V, num_hiddens), V)


chosen["right"], models["right"] = tuned_runs(causal, "previous")
chosen["both"], models["both"] = tuned_runs(filler, "own")
cloze, hits = {}, {}
for side in ("left", "right", "both"):
    guesses = [gap_scores(side, model, blanked, 16)
               for model in models[side]]
    cloze[side] = torch.stack([F.cross_entropy(scores, answers)
                               for scores in guesses]).exp()
    hits[side] = torch.stack([(scores.argmax(dim=1) == answers).float()
                              .mean() for scores in guesses])
    print(f"{side}: rate {chosen[side]}, perplexity",
          *(f"{p:.2f}" for p in cloze[side].tolist()), " accuracy",
          *(f"{a:.2f}" for a in hits[side].tolist()))
whole = torch.stack([F.cross_entropy(gap_scores("left", model, W, 32),
                                     W[:, 32])
                     for model in models["left"]]).exp()
print("left, all 32 others before the gap:",
      *(f"{p:.2f}" for p in whole.tolist()))

# %% tags=["hide-input", "rtol=0.1"]
fig, axes = plt.subplots(1, 2, figsize=(6.8, 2.8), layout="constrained")
for ax, values, label in ((axes[0], cloze, "perplexity"),
                          (axes[1], hits, "accuracy")):
    for i, (side, dots) in enumerate(values.items()):
        ax.bar(i, dots.mean(), color=("#0072B2", "#D55E00", "#009E73")[i],
               alpha=0.35, width=0.6)
        ax.plot([i] * len(dots), dots, "ko", ms=4, fillstyle="none")
    ax.set(ylabel=label, xticks=range(3), xticklabels=list(values))
    ax.grid(axis="x", visible=False)
for i, p in enumerate(table.values()):
    axes[0].plot((i - 0.3, i + 0.3), (p, p), "k:", lw=1.2)
d2l.describe(axes, """Two bar charts with dots for the seeds. Left: the
    perplexity of the gap is about 6 from the left and from the right, and
    about half of that from both sides; dotted lines, the tables of counts
    with two characters, lie a little above the first two bars and clearly
    above the third. Right: the accuracy
    from both sides is about 0.65, from one side about 0.45.""")

# %% [markdown]
# **Figure 10.4.6.** Filling a gap at equal parameters and steps; dots, seeds; dotted, counts of two characters.

# %%
# check 10.4-C6: both sides are better than one, at equal parameters
assert count_params(filler()) == count_params(cheat())
with torch.no_grad():  # one side reads that side, the causal network
    for side, read in (("left", W), ("right", W.flip(1))):
        model = models[side][0]
        torch.testing.assert_close(gap_scores(side, model, blanked, 16),
                                   model(read)[:, 15])
assert all(len(values.unique()) == num_seeds for values in cloze.values())
assert all(len(values) == num_seeds for values in cloze.values())
if full_run and real:
    one_side = torch.cat((cloze["left"], cloze["right"], whole))
    assert cloze["both"].max() < 0.65 * one_side.min()
    assert hits["both"].min() > 0.1 + max(hits["left"].max(),
                                          hits["right"].max())
    assert (whole - cloze["left"]).abs().max() < 0.2
if cpu_size and real:
    assert set(chosen.values()) == {0.03}
    assert all(cloze[side].mean() < p for side, p in table.items())
    assert 0 < (cloze["right"] - cloze["left"]).mean() < 0.6
    assert (hits["right"] - hits["left"]).mean().abs() < 0.04

# %% [markdown]
# In all three seeds the perplexity from both sides is less than two thirds of that from either one.
# More context on the left is no substitute here: with 32 known characters *before* the gap, as many as the two-sided network has in all, the causal network is about as good as with 16.
# From the right the mean perplexity is a little higher than from the left, while the accuracies are close; one text and three seeds decide nothing.
# For an ideal predictor of a stationary source the two are equally hard; Papadopoulos, Wenger and Hongler (2024) find in larger models a small but consistent advantage of the forward direction.
#
# ### What the number is not
#
# The perplexity of a gap cannot be compared with that of a language model.
# The product of $P(x_t\mid\text{all others})$ over $t$ is in general not the probability of the text.
# Take two bits that are always equal, 00 or 11 with probability $\frac12$ each: given the other, each is certain, so the product is 1, while the text has probability $\frac12$.
# Salazar and others (2020) call the logarithm of such a product a *pseudo-log-likelihood*, and show that it is a useful score all the same.
#
# ## Where it stands
#
# Graves and Schmidhuber (2005) trained bidirectional LSTMs to name phonemes, and on that benchmark two directions did better than one.
# The encoder with which Bahdanau, Cho and Bengio (2014) introduced attention to translation is a bidirectional RNN.
# The price: nothing can be output before the last input has arrived, the states of one chain must be kept until those of the other arrive, and a text cannot be written from left to right.
#
# The idea is not tied to recurrent layers.
# BERT (Devlin and others, 2018; Section 11.9) fills blanks with a Transformer whose every layer sees both sides, and encoders of this kind are still being developed for retrieval and classification, such as ModernBERT (Warner and others, 2024).
# Caduceus (Schiff and others, 2024) runs a selective state-space layer, a relative of the minGRU of [Section 10.2](02-gru.ipynb), over DNA in both directions.
# And "cannot generate" holds for writing from left to right only: LLaDA (Nie and others, 2025) generates text by filling in masks step by step.
#
# ## Summary
#
# - A bidirectional layer is two layers; the second reads the reversed sequence and its outputs are reversed back. The result has $2h$ features per step and twice the parameters.
# - The backward layer ends at position 1; `output[-1]` holds a backward state that has read one input.
# - Nonzero gradients above the diagonal betray a network that sees the future.
# - As a language model that copies almost without loss, it reports about $p^{1/T}$, where $p$ is its perplexity at the last position; here it also scored noise, which it copies less well, below 6, where 27 is the least to be expected without the answers.
# - At equal parameters and steps, gaps were filled much better from both sides than from one, even when all known characters were on the left. For triples the gain is what a character says about its neighbor beyond what it says about the next but one.
# - The product of two-sided probabilities is in general not the probability of a text.

# %% [markdown]
# ## Exercises
#
# ### Exercise 10.4-1
#
# Give the two directions different numbers of units, $h_f$ and $h_b$.
# What is the shape of $\mathbf{H}_t$, which parameters change, and can the library do it?

# %% [markdown]
# #### Solution 10.4-1

# %% [markdown]
# $\mathbf{H}_t$ is $n\times(h_f+h_b)$ and $\mathbf{W}_{hq}$ is $(h_f+h_b)\times q$; each direction has matrices of its own size, and nothing else changes, since the chains never meet.
# `nn.RNN` has one `hidden_size` for both, so one uses two layers.
# The first $h_f$ columns see the past, the others the future.

# %%
torch.manual_seed(4)
uneven = BiRNNScratch(5, 4, sigma=0.5)
uneven.b_rnn = RNNScratch(5, 6, sigma=0.5)
Xs = torch.randn(7, 3, 5)
H, (f_last, b_last) = uneven(Xs)
print("outputs", tuple(H.shape))
assert H.shape == (7, 3, 10) and b_last.shape == (3, 6)
assert count_params(uneven) == sum(5 * h + h * h + h for h in (4, 6))
W_hq = torch.randn(4 + 6, 3)  # q = 3
torch.testing.assert_close(H @ W_hq, H[..., :4] @ W_hq[:4]
                           + H[..., 4:] @ W_hq[4:])
for columns, mask in ((slice(0, 4), torch.ones(7, 7).tril()),
                      (slice(4, 10), torch.ones(7, 7).triu())):
    sees = influence(lambda Xs: uneven(Xs)[0][..., columns], Xs) > 0
    assert torch.equal(sees, mask.bool())

# %% [markdown]
# ### Exercise 10.4-2
#
# Stack two bidirectional layers.
# (a) What does the second one read, and how many parameters has the stack for $d=28$ and $h=32$?
# (b) Does the trick of `Gap` still hide the own character? Compare with two separate stacks, one for each direction.

# %% [markdown]
# #### Solution 10.4-2

# %% [markdown]
# (a) The second layer reads the $2h$ features of the first at each step, as with `num_layers=2` in the library: $11\,904+18\,816=30\,720$ parameters.
#
# (b) No.
# The second layer's forward state $t-1$ reads $\mathbf{H}_{t-1}$ of the first layer, half of which comes from the right and has read $x_t$.
# Two separate stacks do not leak, but their directions meet only in the output.
# BERT's way, a blank in the input, works for any network: what has been removed cannot leak.

# %%
class Stack(Module):
    """Two bidirectional GRUs; or, separate, two deep GRUs side by side."""

    def __init__(self, num_inputs, num_hiddens, separate):
        super().__init__()
        self.num_hiddens, self.separate = 2 * num_hiddens, separate
        if separate:
            self.f, self.b = (GRU(num_inputs, num_hiddens, num_layers=2)
                              for _ in range(2))
        else:
            self.f = BiGRU(num_inputs, num_hiddens)
            self.b = BiGRU(2 * num_hiddens, num_hiddens)

    def forward(self, inputs, state=None):
        if self.separate:
            return torch.cat((self.f(inputs)[0], self.b(inputs.flip(0))[0]
                              .flip(0)), dim=2), None
        return self.b(self.f(inputs)[0])

# %%
torch.manual_seed(5)
joint = Stack(28, 32, separate=False)
both_layers = nn.GRU(28, 32, num_layers=2, bidirectional=True)
print("parameters", count_params(joint), "separate",
      count_params(Stack(28, 32, separate=True)))
assert count_params(joint) == count_params(both_layers) == 30_720
weights = {**joint.f.rnn.state_dict(), **{
    name.replace("l0", "l1"): p
    for name, p in joint.b.rnn.state_dict().items()}}
both_layers.load_state_dict(weights)
Xs = torch.randn(6, 3, 28)
torch.testing.assert_close(joint(Xs)[0], both_layers(Xs)[0])
leaks = [(~hidden_inputs(Gap(Stack(V, 32, separate), V)).diag()).sum().item()
         for separate in (False, True)]
print("of 9 characters seen by their own scores: joint", leaks[0],
      " separate", leaks[1])
assert leaks == [9, 0]

# %% [markdown]
# ### Exercise 10.4-3
#
# Add the two states instead of putting them side by side.
# Show that this is a special case of (10.4.2), count what it saves, and compare both on the gaps.

# %% [markdown]
# #### Solution 10.4-3

# %% [markdown]
# $(\mathbf{H}^{(f)}+\mathbf{H}^{(b)})\mathbf{W}=[\mathbf{H}^{(f)},\mathbf{H}^{(b)}]\begin{bmatrix}\mathbf{W}\\\mathbf{W}\end{bmatrix}$: side by side with both halves of $\mathbf{W}_{hq}$ equal, so $hq$ parameters are saved.
# At the same width, steps and rate the difference on the gaps is small for the one seed that we train, and we assert no order: each direction can choose its own basis, so shared output weights need not cost much.

# %% tags=["rtol=0.1"]
class SumGap(Gap):
    """`Gap` with the sum of the two states."""

    def init_params(self):
        self.linear = nn.Linear(self.rnn.num_hiddens // 2, self.vocab_size)

    def output_layer(self, H):
        f, b = H.chunk(2, dim=2)
        return super().output_layer(f + b)


def adder():
    return SumGap(BiGRU(V, num_hiddens), V)


summed = F.cross_entropy(gap_scores(
    "both", run(adder, "own", chosen["both"], 0)[0], W, 16), answers).exp()
print(f"perplexity of the gap: side by side {cloze['both'][0]:.2f},"
      f" sum {summed:.2f}")
add, wide = adder(), filler()
wide.rnn = add.rnn
with torch.no_grad():
    wide.linear.weight.copy_(torch.cat((add.linear.weight,) * 2, dim=1))
    wide.linear.bias.copy_(add.linear.bias)
    torch.testing.assert_close(add(W[:5]), wide(W[:5]))
assert count_params(wide) - count_params(add) == num_hiddens * V
if full_run and real:
    assert summed < 0.65 * one_side.min()
    assert not cpu_size or (summed - cloze["both"][0]).abs() < 0.3

# %% [markdown]
# ### Exercise 10.4-4
#
# A bank may be a shore or an office.
# Make sentences of neutral words with "bank" in the middle and one word that decides, before it in half of them and after it in the others.
# Train a GRU and a bidirectional GRU of nearly equal size to name the sense from the state at "bank".
# How far does each get, and how similar are the states at "bank" in two sentences that differ only in a later word?

# %% [markdown]
# #### Solution 10.4-4

# %% [markdown]
# With the deciding word before, both find the sense; with the word after, the GRU can only guess, however long it trains, because its state at "bank" is the same number by number in both sentences.
# The bidirectional network finds it in both, and its states at "bank" differ.
# This is the simplest form of a *contextual* representation: one word, two vectors.

# %%
WORDS = ("we they went to the old near talked bank "
         "river fish boat money loan clerk").split()
BANK = WORDS.index("bank")


def sentences(n, cue_at, generator):
    """Indices (n, 9), "bank" at step 4, and senses (n,), 0 or 1."""
    tokens = torch.randint(BANK, (n, 9), generator=generator)
    sense, cue = (torch.randint(m, (n,), generator=generator)
                  for m in (2, 3))
    tokens[:, 4] = BANK
    tokens[:, cue_at] = BANK + 1 + 3 * sense + cue
    return tokens, sense

# %%
class Senses(DataModule):
    """Sentences with the deciding word at step 1 or 7, half of each."""

    def __init__(self):
        super().__init__()
        self.batch_size = 32
        parts = [sentences(640, at, torch.Generator().manual_seed(at))
                 for at in (1, 7)]
        self.tokens, self.sense = map(torch.cat, zip(*parts))

    def get_dataloader(self, train):
        if train:
            return self.get_tensorloader((self.tokens, self.sense), True)


class Tagger(Classifier):
    """Scores (n, 2) of the senses from the output at step 4."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn, self.linear = rnn, nn.Linear(rnn.num_hiddens, 2)

    def states(self, X):
        return self.rnn(F.one_hot(X.T, len(WORDS)).float())[0][4]

    def forward(self, X):
        return self.linear(self.states(X))

# %% tags=["rtol=0.2"]
same = sentences(400, 7, torch.Generator().manual_seed(2))[0]
other = same.clone()
other[:, 7] = BANK + 1 + (same[:, 7] - BANK - 1 + 3) % 6  # other sense
shares = {}
for name, make in (("GRU", lambda: GRU(len(WORDS), 13)),
                   ("BiGRU", lambda: BiGRU(len(WORDS), 8))):
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        tagger = Tagger(make())
        fit_clipped(tagger, Senses(), sense_epochs, seed=seed,
                    optimizer=lambda params: torch.optim.Adam(params, 0.03))
        with torch.no_grad():
            shares[name, seed] = [tagger.accuracy(tagger(X), y).item()
                                  for X, y in (sentences(
                                      1000, at, torch.Generator()
                                      .manual_seed(3)) for at in (1, 7))]
            pair = tagger.states(same), tagger.states(other)
            alike = F.cosine_similarity(*pair).mean().item()
        print(f"{name}, {count_params(tagger)} parameters: word before %.2f,"
              " word after %.2f;" % tuple(shares[name, seed]),
              f"cosine {alike:.2f}")
        assert torch.equal(*pair) == (name == "GRU") and (
            name == "GRU" or alike < 0.9)
        assert 0.4 < shares["GRU", seed][1] < 0.6

# %% tags=["hide-input"]
both_kinds = Senses()
assert len(both_kinds.tokens) == len(both_kinds.sense) == 1280
assert (both_kinds.tokens[:640, 1] > BANK).all()
assert (both_kinds.tokens[640:, 7] > BANK).all()
X, y = sentences(500, 1, torch.Generator().manual_seed(5))
assert (X[:, 4] == BANK).all() and ((X[:, 1] - BANK - 1) // 3 == y).all()
assert (torch.cat((X[:, :1], X[:, 2:4], X[:, 5:]), 1) < BANK).all()
assert X[:, 1].unique().tolist() == list(range(BANK + 1, len(WORDS)))
assert ((same[:, 7] - BANK - 1) // 3 != (other[:, 7] - BANK - 1) // 3).all()
assert torch.equal(same[:, :7], other[:, :7])
H, _ = tagger.rnn(F.one_hot(X.T, len(WORDS)).float())  # (T, n, 2h)
assert torch.equal(tagger.states(X), H.transpose(0, 1)[X == BANK])
if sense_epochs >= 3:
    for (name, seed), (before, after) in shares.items():
        assert before > 0.95 and (name == "GRU" or after > 0.95)

# %% [markdown]
# ### Exercise 10.4-5
#
# Pad sequences of lengths 6, 3 and 1 to 6 steps, and then by 0, 2 and 20 more.
# (a) How much do the final states of a bidirectional GRU change with the padding, packed and unpacked?
# (b) Reverse each sequence within its own length, and use that to let `BiRNNScratch` read them without packing.

# %% [markdown]
# #### Solution 10.4-5

# %% [markdown]
# (a) Packed, neither state depends on the padding.
# Unpacked, both change: the forward state runs on past the end, and the backward state arrives at the first real step with what it made of the padding.
# The forward state can be picked from the output at the last real step; for the backward state there is no such step.
#
# (b) Step $t$ of a sequence of length $n_i$, counted from 0, takes the place of step $n_i-1-t$; padding stays where it is.
# The same function undoes itself.

# %%
def flip_within(X, lengths):
    """Reverse the first lengths[i] steps of each sequence X[:, i]."""
    t = torch.arange(len(X))[:, None]  # (T, 1)
    index = torch.where(t < lengths, lengths - 1 - t, t)  # (T, n)
    return X[index, torch.arange(X.shape[1])]


torch.manual_seed(6)
lengths, layer = torch.tensor([6, 3, 1]), BiGRU(5, 8).rnn
content, finals = torch.randn(6, 3, 5), {}
content[torch.arange(6)[:, None] >= lengths] = 0
for extra in (0, 2, 20):
    X = torch.cat((content, torch.zeros(extra, 3, 5)))
    packed = pack_padded_sequence(X, lengths, enforce_sorted=False)
    with torch.no_grad():
        finals[extra] = layer(packed)[1], layer(X)[1]  # (2, n, h) each
for extra, states in finals.items():
    moved = [(state - finals[0][0]).abs().amax(dim=(1, 2)) for state in states]
    print(f"{extra} steps more, forward and backward: packed "
          "{:.2f} {:.2f}, unpacked {:.2f} {:.2f}".format(
              *moved[0], *moved[1]))
    assert moved[0].max() < 1e-6 and moved[1].min() > 0.05
with torch.no_grad():
    for i, n in enumerate(lengths.tolist()):
        alone = layer(content[:n, i:i + 1])[1][:, 0]
        torch.testing.assert_close(finals[0][0][:, i], alone)

# %%
net = BiRNNScratch(5, 8, sigma=0.5)
nn.init.normal_(net.b_rnn.b_h)
flipped = flip_within(X, lengths)
assert torch.equal(flip_within(flipped, lengths), X)
backward = flip_within(net.b_rnn(flipped)[0], lengths)
for i, n in enumerate(lengths.tolist()):
    alone, _ = net(X[:n, i:i + 1])
    torch.testing.assert_close(backward[:n, i], alone[:, 0, 8:])
    naive = net(X)[0][:n, i, 8:]  # the padding is read first
    assert (naive - alone[:, 0, 8:]).abs().amax(dim=1).min() > 1e-3

# %% [markdown]
# ## Sources
#
# - M. Schuster and K. K. Paliwal, Bidirectional recurrent neural networks, *IEEE Transactions on Signal Processing* 45(11), 1997, 2673-2681, [doi:10.1109/78.650093](https://doi.org/10.1109/78.650093).
# - C. E. Shannon, Prediction and entropy of printed English, *Bell System Technical Journal* 30(1), 1951, [doi:10.1002/j.1538-7305.1951.tb01366.x](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x): forward and backward.
# - V. Papadopoulos, J. Wenger and C. Hongler, Arrows of time for large language models, 2024, [arXiv:2401.17505](https://arxiv.org/abs/2401.17505).
# - W. L. Taylor, "Cloze procedure": a new tool for measuring readability, *Journalism Quarterly* 30(4), 1953, 415-433, [doi:10.1177/107769905303000401](https://doi.org/10.1177/107769905303000401).
# - J. Salazar, D. Liang, T. Q. Nguyen and K. Kirchhoff, Masked language model scoring, 2020, [doi:10.18653/v1/2020.acl-main.240](https://doi.org/10.18653/v1/2020.acl-main.240).
# - A. Graves and J. Schmidhuber, Framewise phoneme classification with bidirectional LSTM networks, IJCNN 2005, [doi:10.1109/IJCNN.2005.1556215](https://doi.org/10.1109/IJCNN.2005.1556215).
# - D. Bahdanau, K. Cho and Y. Bengio, Neural machine translation by jointly learning to align and translate, 2014, [arXiv:1409.0473](https://arxiv.org/abs/1409.0473).
# - J. Devlin, M.-W. Chang, K. Lee and K. Toutanova, BERT: pre-training of deep bidirectional Transformers for language understanding, 2018, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805).
# - B. Warner and others, Smarter, better, faster, longer: a modern bidirectional encoder for fast, memory efficient, and long context finetuning and inference, 2024, [arXiv:2412.13663](https://arxiv.org/abs/2412.13663).
# - Y. Schiff and others, Caduceus: bi-directional equivariant long-range DNA sequence modeling, 2024, [arXiv:2403.03234](https://arxiv.org/abs/2403.03234).
# - S. Nie and others, Large language diffusion models, 2025, [arXiv:2502.09992](https://arxiv.org/abs/2502.09992).
# - PyTorch documentation, [torch.nn.GRU](https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html): both directions, shapes, names of the parameters.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
