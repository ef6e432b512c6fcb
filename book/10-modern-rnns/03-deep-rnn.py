# ---
# jupyter:
#   d2l:
#     data: [time-machine, austen]
#     profiles:
#       gpu:
#         plateau_epochs: 20
#         max_epochs: 40
#         depth_epochs: 12
#         num_gpus: 1
#       smoke:
#         plateau_epochs: 1
#         max_epochs: 1
#         depth_epochs: 1
#         num_seeds: 2
#         timing_reps: 2
#     rehearsal:
#       plateau_epochs: 0.1
#       max_epochs: 0.1
#       depth_epochs: 0.17
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
# # 10.3 Deep recurrent neural networks
#
# A recurrent network is deep already: unrolled over 32 steps, it has 32 layers.
# But between an input and the output at the same step there is only one nonlinear layer.
# Here we put several on top of each other, and ask what that costs, why a stack may refuse to train, and whether depth is worth more than width.
#
# **You will**
#
# - stack recurrent layers by hand, and check that chained layers equal the library's `num_layers`;
# - show which cells can be computed at the same time, and where dropout acts;
# - predict how small the first gradient of a deep stack is, and remove the plateau that follows from it;
# - compare depth with width at equal steps and equal parameters, with and without residual connections.
#
# **Cost**: about 35 seconds on a CPU; downloads of 0.2 MB and 1.5 MB, once.

# %%
import copy
import math
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler, DataLoader, RandomSampler, TensorDataset)

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.modern_rnns import GRU
from d2l_helpers.chapters.recurrent_neural_networks import (
    RNNLM, NgramLM, RNNLMScratch, RNNScratch, TimeMachine, fit_clipped,
    read_text, rnn_forward, rnn_step, time_step)

d2l.use_style()

# %% tags=["parameters"]
max_epochs = 20  # of 25 steps, from scratch
plateau_epochs = 4  # of 25 steps, each start and depth
depth_epochs = 4  # of 25 steps, each architecture and rate
num_seeds = 3
timing_reps = 10  # of each step that is timed
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## Two kinds of depth
#
# Let $\mathbf{X}_t\in\mathbb{R}^{n\times d}$ be the input of step $t$ for $n$ sequences, and $\mathbf{H}_t^{(0)}=\mathbf{X}_t$.
# Layer $l=1,\dots,L$ reads the states of the layer below and keeps a state $\mathbf{H}_t^{(l)}\in\mathbb{R}^{n\times h}$ of its own:
#
# $$\mathbf{H}_t^{(l)}=\phi_l\left(\mathbf{H}_t^{(l-1)}\mathbf{W}_{xh}^{(l)}+\mathbf{H}_{t-1}^{(l)}\mathbf{W}_{hh}^{(l)}+\mathbf{b}_h^{(l)}\right),\qquad\mathbf{O}_t=\mathbf{H}_t^{(L)}\mathbf{W}_{hq}+\mathbf{b}_q. \tag{10.3.1}$$
#
# Here $\phi_l$ is an activation function, $\mathbf{W}_{hh}^{(l)}$ is $h\times h$ and $\mathbf{b}_h^{(l)}$ has shape $(h,)$; $\mathbf{W}_{xh}^{(l)}$ is $d\times h$ for $l=1$ and $h\times h$ for $l>1$.
# Only the last layer feeds the output $\mathbf{O}_t\in\mathbb{R}^{n\times q}$ directly, through $\mathbf{W}_{hq}\in\mathbb{R}^{h\times q}$ and $\mathbf{b}_q\in\mathbb{R}^q$.
#
# ![Three rows of boxes, the layers, over four columns, the steps. Each box has an arrow to its right neighbour and one to the box above; inputs enter from below, outputs leave at the top.](img/deep-grid.svg)
#
# **Figure 10.3.1.** Each cell feeds the next step of its layer and the next layer of its step.
#
# Depth in time carries information from step to step; depth in layers works on the features of one step.
# A layer of GRUs or LSTMs takes the place of (10.3.1) without any other change.
#
# Every path from $\mathbf{X}_1$ to $\mathbf{H}_T^{(L)}$ takes $T-1$ steps to the right and $L-1$ up, so it visits $T+L-1$ cells, and there are $\binom{T+L-2}{L-1}$ such paths: one for a single layer, 15 for $T=5$ and $L=3$.
# If each unit has weight 1 and no activation, a gradient counts them.

# %%
one = torch.ones(1, 1)
for T, L in ((5, 1), (5, 3), (8, 4)):
    Xs = torch.zeros(T, 1, 1, requires_grad=True)
    states = Xs
    for _ in range(L):
        states = rnn_forward(states, torch.zeros(1, 1), (one, one, 0),
                             phi=lambda a: a)
    paths, = torch.autograd.grad(states[-1].sum(), Xs)
    print(f"T = {T}, L = {L}: {paths[0].item():.0f} paths from the first")
    assert paths[0] == math.comb(T + L - 2, L - 1) and paths[-1] == 1

# %% [markdown]
# ## From scratch
#
# The layer of [Section 9.5](../09-recurrent-neural-networks/05-rnn-scratch.ipynb) returns its states at all steps, which is what the next layer wants as inputs.
# So a stack is a loop over layers.
# There is one state for each layer now, and a list holds them.

# %% tags=["export"]
class StackedRNNScratch(Module):
    """Layers of RNNScratch, each reading the outputs of the one below."""

    def __init__(self, num_inputs, num_hiddens, num_layers, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.rnns = nn.ModuleList(
            RNNScratch(num_hiddens if i else num_inputs, num_hiddens, sigma)
            for i in range(num_layers))

    def forward(self, inputs, Hs=None):
        """Outputs (T, n, h) of the last layer and a list of last states.

        `Hs` is a list of one state (n, h) for each layer; it is not changed.
        """
        outputs, last = inputs, []
        for rnn, H in zip(self.rnns, Hs or [None] * self.num_layers,
                          strict=True):
            outputs, H = rnn(outputs, H)
            last.append(H)
        return outputs, last

# %% [markdown]
# A state that is passed in must mean the same as the steps before it, in every layer; and neither the list nor its tensors may change, since the caller may want to continue from them twice, as beam search will.

# %%
# check 10.3-C5: the list of states is used, and not changed
torch.manual_seed(0)
net = StackedRNNScratch(28, 32, 3, sigma=0.3)
for rnn in net.rnns:
    nn.init.normal_(rnn.b_h)
Xs = torch.randn(10, 4, 28)
with torch.no_grad():
    outputs, last = net(Xs)
    _, Hs = net(Xs[:6])
    before, kept = [H.clone() for H in Hs], list(Hs)
    rest, ends = net(Xs[6:], Hs)
torch.testing.assert_close(rest, outputs[6:])
torch.testing.assert_close(ends, last)
assert len(Hs) == 3 and all(H is K for H, K in zip(Hs, kept))
assert all(torch.equal(H, B) for H, B in zip(Hs, before))
for l in range(3):  # each of the states matters
    other = [H + (i == l) for i, H in enumerate(Hs)]
    with torch.no_grad():
        assert not torch.allclose(net(Xs[6:], other)[0], rest)

# %% tags=["hide-input"]
# check: the equation, layer by layer and step by step; sizes; the start
with torch.no_grad():
    H = [torch.zeros(4, 32) for _ in range(3)]
    for t, X in enumerate(Xs):
        below = X
        for l, rnn in enumerate(net.rnns):
            H[l] = torch.tanh(below @ rnn.W_xh + H[l] @ rnn.W_hh + rnn.b_h)
            below = H[l]
        torch.testing.assert_close(outputs[t], below)
torch.testing.assert_close(last, H)
fresh = StackedRNNScratch(20, 50, 2)
assert [tuple(rnn.W_xh.shape) for rnn in fresh.rnns] == [(20, 50), (50, 50)]
for rnn in fresh.rnns:
    assert abs(rnn.W_hh.std() - 0.01) < 0.001 and not rnn.b_h.any()
assert abs(net.rnns[2].W_xh.std() - 0.3) < 0.03
assert fresh.num_hiddens == 50 and len(fresh.rnns) == 2
assert outputs.shape == (10, 4, 32)
try:
    net(Xs, Hs[:2])
    raise AssertionError("two states for three layers")
except ValueError as error:
    assert "zip" in str(error)

# %% [markdown]
# ## What can run at the same time
#
# Our loop computes $TL$ cells one after the other.
# How many rounds are really needed, if all cells whose inputs are ready may run together?
# We simulate it.

# %%
def wavefronts(T, L):
    """Rounds of cells (t, l), from 0, each run as early as possible."""
    waiting = {(t, l) for t in range(T) for l in range(L)}
    rounds = []
    while waiting:
        ready = {(t, l) for t, l in waiting
                 if not waiting & {(t - 1, l), (t, l - 1)}}
        rounds.append(sorted(ready))
        waiting -= ready
    return rounds


def run_in_waves(net, Xs):
    """States (T, n, h) of the last layer, computed round by round."""
    H = {(t, -1): X for t, X in enumerate(Xs)}
    for cells in wavefronts(len(Xs), net.num_layers):
        H |= {(t, l): net.rnns[l](H[t, l - 1][None], H.get((t - 1, l)))[1]
              for t, l in cells}  # this round reads earlier rounds alone
    return torch.stack([H[t, net.num_layers - 1] for t in range(len(Xs))])

# %%
# check 10.3-C3: T + L - 1 rounds, and the same states
for T, L in ((1, 1), (1, 4), (6, 1), (6, 3), (3, 6), (32, 4)):
    rounds = wavefronts(T, L)
    assert len(rounds) == T + L - 1
    assert all(t + l == k for k, cells in enumerate(rounds)
               for t, l in cells)
    assert sum(map(len, rounds)) == T * L
    assert max(map(len, rounds)) == min(T, L)
with torch.no_grad():
    torch.testing.assert_close(run_in_waves(net, Xs), outputs)

# %% tags=["hide-input"]
T, L = 9, 4
wave = torch.zeros(L, T)
fig, ax = plt.subplots(figsize=(6, 2.9))
for k, cells in enumerate(wavefronts(T, L)):
    for t, l in cells:
        wave[l, t] = k + 1
        ax.text(t + 1, l + 1, str(k + 1), ha="center", va="center",
                color="white" if k < 7 else "black", fontsize=9)
ax.imshow(wave, origin="lower", cmap="viridis", aspect="auto",
          extent=(0.5, T + 0.5, 0.5, L + 0.5))
ax.grid(visible=False)
ax.set(xlabel="step t", ylabel="layer l", xticks=range(1, T + 1),
       yticks=range(1, L + 1))
assert wave.max() == T + L - 1 and wave.min() == 1
d2l.describe(ax, """A grid of 9 steps and 4 layers. Each cell shows the round
    in which it runs, t + l - 1, from 1 in the lower left to 12 in the upper
    right; cells on the same falling diagonal have the same number.""")

# %% [markdown]
# **Figure 10.3.2.** The round in which each cell can run; a diagonal of cells is a *wavefront*.
#
# Cells with equal $t+l$ do not need each other, so $T+L-1$ rounds are enough: 35 instead of 128 for $T=32$ and $L=4$.
# The work is the same; the rounds shrink only for hardware that runs up to $L$ cells at once.
# Appleyard, Kočiský and Blunsom (2016) describe the optimizations in cuDNN, NVIDIA's library, in three stages: one cell, one layer, the entire network.
#
# ## The library's stack
#
# `nn.RNN`, `nn.LSTM` and `nn.GRU` take an argument `num_layers`.
# We need single layers later, so we also write a stack of them, and learn how the library orders its states: `h_n` has shape (layers, $n$, $h$), the first layer first.

# %%
class Stack(Module):
    """Recurrent layers of the library, of class `cell`.

    With `residual` each layer but the first adds its inputs to its outputs.
    """

    def __init__(self, num_inputs, num_hiddens, num_layers, cell=nn.RNN,
                 residual=False):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.ModuleList(
            cell(num_hiddens if i else num_inputs, num_hiddens)
            for i in range(num_layers))

    def forward(self, inputs, states=None):
        """Outputs (T, n, h) and a list of the layers' last states."""
        outputs, last = inputs, []
        for i, layer in enumerate(self.layers):
            below = outputs
            outputs, state = layer(below, states[i] if states else None)
            if self.residual and i > 0:
                outputs = below + outputs
            last.append(state)
        return outputs, last

# %%
# check 10.3-C1: chained layers are num_layers; the order of the states
torch.manual_seed(1)
for cell in (nn.RNN, nn.GRU):
    whole, chain = cell(28, 32, num_layers=2), Stack(28, 32, 2, cell)
    with torch.no_grad():
        for name, p in chain.named_parameters():
            _, i, kind = name.split(".")  # such as layers.1.bias_hh_l0
            p.copy_(whole.get_parameter(kind[:-1] + i))
        output, h_n = whole(Xs, torch.ones(2, 4, 32))
        ours, states = chain(Xs, list(torch.ones(2, 1, 4, 32)))
    assert torch.equal(output, ours) and h_n.shape == (2, 4, 32)
    assert torch.equal(h_n, torch.cat(states))
    assert torch.equal(h_n[1], output[-1]) and not h_n[0].equal(output[-1])
added = Stack(28, 32, 3, residual=True)
with torch.no_grad():
    sums = [added.layers[0](Xs)[0]]
    for layer in added.layers[1:]:
        sums.append(sums[-1] + layer(sums[-1])[0])
    assert torch.equal(added(Xs)[0], sums[-1])
    again = added(Xs[5:], added(Xs[:5])[1])[0]
    torch.testing.assert_close(again, sums[-1][5:])

# %% [markdown]
# Parameters: the first layer has $h(d+h+2)$ in an RNN with the library's two biases, each further one $h(2h+2)$, a GRU three times and an LSTM four times as many.
# For $d=28$ and $h=32$ the second layer adds $32\cdot66=2112$ to the 1984 of the first.

# %%
# check 10.3-C2: parameters of two layers
sizes = [count_params(cell(28, 32, num_layers=2))
         for cell in (nn.RNN, nn.GRU, nn.LSTM)]
print("two layers, RNN, GRU, LSTM:", sizes)
assert sizes == [4096, 12288, 16384]
assert count_params(GRU(28, 32, 2)) == 12288
assert sizes[0] == 32 * (28 + 32 + 2) + 32 * (2 * 32 + 2)

# %% [markdown]
# ## Where dropout acts
#
# The argument `dropout` of these layers sets entries to zero *between* layers: on the way up, except behind the last layer, and never along time.
# Zaremba, Sutskever and Vinyals (2014) report that plain dropout does not work well in recurrent networks, and apply it to those connections alone that are not recurrent.
#
# ![The same grid. The arrows from layer to layer are dashed: some entries are dropped there, anew at each step. The arrows along time, from the inputs and to the outputs are solid.](img/deep-dropout.svg)
#
# **Figure 10.3.3.** The library's dropout.
#
# With one layer there is nothing in between, and the argument does nothing; PyTorch warns.

# %%
# check 10.3-C4: one layer ignores dropout; two use it in training only
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    single = GRU(28, 32, dropout=0.5)
print("warning:", str(caught[0].message).split(" and ")[0])
assert len(caught) == 1 and "num_layers" in str(caught[0].message)
double = GRU(28, 32, num_layers=2, dropout=0.5)
with torch.no_grad():
    same = single.train()(Xs)[0]
    assert torch.equal(same, single(Xs)[0])
    assert torch.equal(same, single.eval()(Xs)[0])
    first, second = double.train()(Xs)[0], double(Xs)[0]
    assert (first - second).abs().max() > 0.01
    assert torch.equal(double.eval()(Xs)[0], double(Xs)[0])

# %% [markdown]
# To see *where* it acts we need a transparent second layer: ReLU units with an identity for $\mathbf{W}_{xh}^{(2)}$ and zeros elsewhere just copy what reaches them.

# %%
def probe(upper):
    """Two ReLU layers with positive states; `upper` is W_xh of the second.

    Returns outputs and last states of a pass in training, then in eval.
    """
    layer = nn.RNN(8, 64, 2, nonlinearity="relu", dropout=0.5)
    with torch.no_grad():
        for name, p in layer.named_parameters():
            p.fill_(0.01 if name.endswith("l0") else 0.0)
        layer.weight_ih_l1.copy_(upper)
        Xs = torch.rand(30, 5, 8)
        return *layer.train()(Xs), *layer.eval()(Xs)


torch.manual_seed(2)
outputs, h_n, clean, clean_h_n = probe(torch.eye(64))
mask = outputs > 0  # (T, n, h): what came through
print(f"kept: {mask.float().mean():.2f}")
assert abs(mask.float().mean() - 0.5) < 0.02 and (clean > 0).all()
torch.testing.assert_close(outputs[mask], 2 * clean[mask])  # rescaled
assert (mask[0] != mask[1]).any()  # a new mask at each step
assert torch.equal(h_n[0], clean_h_n[0])  # nothing lost along time
outputs, *_ = probe(torch.ones(64, 64))  # each unit sums all of the lower
torch.testing.assert_close(outputs, outputs[..., :1].expand_as(outputs))
assert outputs.min() > 0  # so nothing is lost behind the last layer

# %% [markdown]
# Gal and Ghahramani (2016) take another view: one mask for all steps of a sequence, and then also along time (Exercise 10.3-5).
#
# ## Why a stack may not start
#
# Now we train on *The Time Machine*: 32 random windows of 32 characters a step from the first nine tenths, 25 steps an epoch; on the last tenth each character is predicted once, but for fewer than 32 at the end.

# %%
def windows(corpus, num_steps=32):
    """All windows of a corpus (T,), and those one character later."""
    return TensorDataset(corpus[:-1].unfold(0, num_steps, 1),
                         corpus[1:].unfold(0, num_steps, 1))


class Draws(TimeMachine):
    """Random windows of `pool`, the first nine tenths of the text.

    An epoch has `steps` batches. Validation is one batch, the rest of the
    text in windows that do not overlap.
    """

    def __init__(self, batch_size, steps):
        super().__init__(batch_size)
        self.steps, self.cut = steps, int(0.9 * len(self.corpus))
        self.pool = windows(self.corpus[:self.cut], self.num_steps)

    def get_dataloader(self, train):
        if not train:  # the first target is the first unseen character
            rows = slice(self.cut - 1, None, self.num_steps)
            return [(self.X[rows], self.Y[rows])]
        rows = RandomSampler(self.pool, generator=self.generator,
                             num_samples=self.steps * self.batch_size)
        batches = BatchSampler(rows, self.batch_size, drop_last=False)
        return DataLoader(self.pool, batch_size=None, sampler=batches)


data = Draws(32, steps=25)
V, cut = len(data.vocab), data.cut
table = NgramLM(3, V, eps=5).fit(data.corpus[:cut])
unigram, bigram, trigram = (
    table.lower(k).perplexity(data.corpus[cut - k + 1:]) for k in (1, 2, 3))

# %% tags=["hide-input"]
# check: no held-out character is trained on, each is predicted once
real = (d2l.fetch("time-machine").source == "real"
        and d2l.fetch("austen").source == "real")
full_run = (plateau_epochs == 4 and max_epochs == 20 and depth_epochs == 4
            and num_seeds == 3)  # the sizes of the text
data.generator = torch.Generator().manual_seed(0)
(X, Y), = data.val_dataloader()
targets = Y.flatten()
assert torch.equal(targets, data.corpus[cut:cut + len(targets)])
assert torch.equal(X.flatten()[1:], targets[:-1])
assert 0 <= len(data.corpus) - cut - len(targets) < 32
assert 0 <= 0.9 * len(data.corpus) - cut < 1
assert torch.equal(data.pool.tensors[1][-1], data.corpus[cut - 32:cut])
assert torch.equal(data.pool.tensors[0][0], data.corpus[:32])
shares = torch.bincount(data.corpus[:cut], minlength=V) / cut
direct = torch.exp(-shares[targets].log().mean())
assert abs(unigram / direct - 1) < 1e-3 or not real
assert trigram < bigram < unigram < V
batches = list(data.train_dataloader())
X0 = batches[0][0]
assert len(batches) == 25 and batches[0][0].shape == (32, 32)
assert not torch.equal(batches[0][0], batches[1][0])
torch.manual_seed(1)
data.generator.manual_seed(0)
again = list(data.train_dataloader())  # the generator alone decides
assert all(torch.equal(a[0], b[0]) for a, b in zip(again, batches))
data.generator.manual_seed(1)
assert not torch.equal(next(iter(data.train_dataloader()))[0], X0)

# %% [markdown]
# The stack from scratch starts with weights of standard deviation $\sigma=0.01$ and trains with SGD at the rate 2, clipped at norm 1.

# %% tags=["chaotic"]
def adam(rate):
    return lambda params: torch.optim.Adam(params, lr=rate)


def validation(model, epochs, seed=0, optimizer=None):
    """Train with clipping; the validation perplexity of each epoch."""
    history = fit_clipped(model, data, epochs, optimizer=optimizer,
                          seed=seed, num_gpus=num_gpus)
    return torch.tensor(history["val_loss"]).exp()


torch.manual_seed(0)
slow = validation(
    RNNLMScratch(StackedRNNScratch(V, 32, 2), V, lr=2), max_epochs)
print("every 50 steps:", *(f"{p:.1f}" for p in slow[1::2].tolist()))
print(f"table of single characters {unigram:.1f}, bigrams {bigram:.1f}")

# %% [markdown]
# For more than a hundred steps it hardly learns anything: it stays near the perplexity of a table that counts single characters and ignores the context.
# Then it drops.
# A stack of two GRUs with the library's initialization, trained with Adam at the rate 0.01, shows no such *plateau*:

# %% tags=["rtol=0.1"]
torch.manual_seed(0)
gated = validation(RNNLM(GRU(V, 32, num_layers=2), V),
                   math.ceil(0.3 * max_epochs), optimizer=adam(0.01))
print("every 50 steps:", *(f"{p:.1f}" for p in gated[1::2].tolist()))

# %%
# check 10.3-C6: both pass the bigrams, one of them after a plateau
if max_epochs >= 20 and real:
    assert slow.min() < 9.5 < bigram and gated[-1] < 8.5
if full_run and real:
    assert (slow[1:5] / unigram - 1).abs().max() < 0.03
    assert gated[3] < bigram - 0.3

# %% [markdown]
# The two differ in cell, start and optimizer, so this says nothing about the cause.
# The weights suggest one.
# Near zero $\tanh$ is the identity, and to first order the current input reaches the scores through the product $\mathbf{W}_{xh}^{(1)}\cdots\mathbf{W}_{xh}^{(L)}\mathbf{W}_{hq}$.
# The gradient with respect to one factor contains the product of the others.
# A fixed vector of length 1, multiplied by an $h\times h$ matrix of independent entries with mean zero and standard deviation $\sigma$, has in root mean square the length $\sigma\sqrt h$.
# So each further layer should multiply the first gradient by about
#
# $$\sigma\sqrt h=0.01\cdot\sqrt{32}\approx0.057. \tag{10.3.2}$$

# %%
def first_gradient(model):
    """Norm of the gradient of the input's weights, before training."""
    weight = next(p for p in model.rnn.parameters() if V in p.shape)
    loss = model.loss(model(data.X[:10_000:10]), data.Y[:10_000:10])
    grad, = torch.autograd.grad(loss, weight)
    return grad.norm().item()


def scratch_model(num_layers, sigma):
    torch.manual_seed(0)
    return RNNLMScratch(StackedRNNScratch(V, 32, num_layers, sigma), V,
                        sigma=sigma)


def new_model(num_layers, num_hiddens=32, residual=False, seed=0):
    torch.manual_seed(seed)
    stack = Stack(V, num_hiddens, num_layers, residual=residual)
    return RNNLM(stack, V, lr=1)


gradients = torch.tensor([
    [first_gradient(scratch_model(L, 0.01)) for L in (1, 2, 3, 4)],
    [first_gradient(new_model(L)) for L in (1, 2, 3, 4)]])
for name, row in zip(("sigma 0.01", "default"), gradients.tolist()):
    print(f"{name}, 1 to 4 layers:", *(f"{norm:.0e}" for norm in row))

# %%
# check: each layer costs the factor sigma sqrt(h), within 40 %
for sigma in (0.01, 0.05):
    norms = torch.tensor([first_gradient(scratch_model(L, sigma))
                          for L in (1, 2, 3, 4)])
    factors = norms[1:] / norms[:-1] / (sigma * math.sqrt(32))
    assert 0.7 < factors.min() and factors.max() < 1.4
assert gradients[0, 3] < 1e-3 * gradients[0, 0]
assert gradients[1, 3] > 0.1 * gradients[1, 0]

# %% [markdown]
# The library draws from $\mathcal{U}(-1/\sqrt h,1/\sqrt h)$, with standard deviation $1/\sqrt{3h}$: the factor is $1/\sqrt3\approx0.58$ for every width, and with four layers more than a tenth of the gradient is left.
#
# If (10.3.2) is what holds up the training, then
#
# 1. from a small start the plateau grows with the number of layers, and from the default there is none;
# 2. small weights on the way from input to scores are enough for it, small recurrent weights and biases are not;
# 3. a way around the small factors removes it: if each layer above the first *adds* its inputs to its outputs, the shortest product has two factors, whatever the depth.
#
# The third is a *residual connection*, two lines in our `Stack`.
# We start the library's stack as it is, or draw parts of it anew with $\sigma=0.01$; all runs use SGD at the rate 1, clipped as before.

# %%
def small_start(model, path=True, rest=True):
    """Draw parts of a model anew, with standard deviation 0.01.

    `path` means the weights between input, layers and scores, `rest` the
    recurrent weights and the biases. Changes the model and returns it.
    """
    for name, p in model.named_parameters():
        on_path = "weight_ih" in name or name == "linear.weight"
        if path if on_path else rest:
            nn.init.normal_(p, std=0.01)
    return model


def plateau(num_layers, residual=False, optimizer=None, **parts):
    """Validation perplexity (seeds, epochs)."""
    curves = []
    for seed in range(num_seeds):
        model = new_model(num_layers, residual=residual, seed=seed)
        small_start(model, **parts)
        curves.append(validation(model, plateau_epochs, seed, optimizer))
    return torch.stack(curves)

# %% tags=["rtol=0.1"]
curves = {("small", L): plateau(L) for L in (1, 2, 3)}
curves |= {("default", L): plateau(L, path=False, rest=False)
           for L in (1, 2, 3)}
curves |= {("path", 2): plateau(2, rest=False),
           ("rest", 2): plateau(2, path=False),
           ("residual", 3): plateau(3, residual=True)}
ends = {key: curve[:, -1] for key, curve in curves.items()}
print(f"perplexity after {25 * plateau_epochs} steps")
for (name, L), values in ends.items():
    print(f"{name}, layers: {L}:",
          ", ".join(f"{p:.1f}" for p in values.tolist()))

# %% tags=["hide-input"]
# check: the parts are those that the text names; each seed has its start
for path, rest in ((True, False), (False, True), (True, True)):
    model = small_start(new_model(2), path, rest)
    for name, p in model.named_parameters():
        on_path = "weight_ih" in name or name == "linear.weight"
        small = path if on_path else rest
        assert 0.006 < p.std() < 0.014 if small else p.std() > 0.07
    assert len(list(model.parameters())) == 10
starts = [new_model(2, 40, True, seed).rnn for seed in (0, 1, 1)]
states = [rnn.layers[1].weight_hh_l0 for rnn in starts]
assert torch.equal(states[1], states[2]) and states[0].shape == (40, 40)
assert not torch.equal(states[0], states[1]) and starts[0].residual
assert {curve.shape for curve in curves.values()} == {
    (num_seeds, plateau_epochs)}
assert all((curve[0] != curve[1]).all() for curve in curves.values())

# %%
# check 10.3-C6: the starts in order, and the three predictions
if full_run and real:
    for L in (2, 3):  # stuck from small weights, not from the default
        assert (curves["small", L][:, 1:] / unigram - 1).abs().max() < 0.03
        assert ends["default", L].max() < ends["small", L].min() - 2
    assert ends["small", 1].max() < 0.95 * unigram
    assert ends["default", 1].max() < 14
    assert ends["rest", 2].max() < 14 < 16 < ends["path", 2].min()
    assert (ends["rest", 2] - ends["default", 2]).mean().abs() < 1.5
    assert ends["residual", 3].max() < 0.95 * unigram

# %% tags=["hide-input", "rtol=0.1"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
steps = 25 * torch.arange(1, plateau_epochs + 1)
for ax, start in zip(axes, ("small", "default")):
    lines = [(start, L) for L in (1, 2, 3)]
    if start == "small":
        lines.append(("residual", 3))
    for key, style in zip(lines, ("C0-", "C1--", "C2-.", "C3:")):
        for seed, curve in enumerate(curves[key]):
            ax.plot(steps, curve, style, lw=1.4, label=None if seed else
                    f"{key[1]}" + ", residual" * (key[0] == "residual"))
    ax.set(xlabel="steps", title=f"{start} start", yscale="log")
    ax.set_yticks([8, 10, 12, 15, 20], labels=[8, 10, 12, 15, 20])
    ax.minorticks_off()
axes[0].set_ylabel("validation perplexity")
axes[0].legend(title="layers", fontsize=8)
d2l.describe(axes, """Validation perplexity against steps, three runs each.
    Left, from small weights: one layer falls below 15, two and three layers
    stay near 16.8 to the end, but three layers with residual connections
    fall, too.
    Right, from the default: stacks of 1, 2 and 3 layers all fall to
    between 10 and 13, one run of three layers with a detour.""")

# %% [markdown]
# **Figure 10.3.4.** SGD at the rate 1, three seeds each.
# From small weights two and three layers do not start, unless they have residual connections; from the default all do.
#
# From the small start one layer falls, while two and three layers stay at the level of single characters for all 100 steps; whether three wait longer than two would take a longer run to see.
# A small path alone holds two layers up; with small recurrent weights and biases alone they train as from the default.
# And three small layers with residual connections leave the plateau.
# So far the predictions hold; Exercise 10.3-2 finds a limit of the explanation.
# All this is about the start of the training; how good a stack becomes is another question.
#
# ## Depth against width
#
# Are further layers worth their parameters?
# A fair answer compares them at least with a wider single layer that has as many.
# We take tanh layers with the library's start: 32 units in 1, 2 or 4 layers, with and without residual connections, and one layer of 71 units, whose model has as many parameters as the four layers within 1 %.
# All take 100 clipped steps with Adam; that a step of four layers takes longer is not counted.
# The rate comes from 0.01 and 0.03, extended by a factor of 3 beyond the better one, and is chosen by the training loss of seed 0 in the last 25 steps.

# %%
def train(arm, rate, seed, epochs):
    """The history of one training of (layers, units, residual)."""
    return fit_clipped(new_model(*arm, seed), data, epochs, seed=seed,
                       optimizer=adam(rate), num_gpus=num_gpus)


def tune(arm, rates=(0.01, 0.03)):
    """The rate of lowest training loss, and all runs by rate."""
    def final(rate):
        return runs[rate]["train_loss"][-1]

    runs = {rate: train(arm, rate, 0, depth_epochs) for rate in rates}
    best = min(runs, key=final)  # at an end of the grid: extend it there
    beyond = 3 * best if best == max(rates) else best / 3
    runs[beyond] = train(arm, beyond, 0, depth_epochs)
    return min(runs, key=final), runs

# %% tags=["hide-input"]
# check: at the rate 0 nothing is learned; the seed sets start and windows
(X, Y), = data.val_dataloader()
starts, tol = [], 1e-3 if num_gpus else 1e-5
for seed in (0, 1):
    run = train((1, 8, False), 0.0, seed, 1)
    model = new_model(1, 8, seed=seed)
    data.generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        seen = torch.stack([model.loss(model(x), y)
                            for x, y in data.train_dataloader()]).mean()
        starts.append((seen.item(), model.loss(model(X), Y).item()))
    assert abs(run["train_loss"][0] - starts[-1][0]) < tol
    assert abs(run["val_loss"][0] - starts[-1][1]) < tol
assert all(abs(a - b) > 1e-3 for a, b in zip(*starts))

# %% tags=["rtol=0.1"]
arms = [(1, 32, False), (1, 71, False), (2, 32, False), (4, 32, False),
        (2, 32, True), (4, 32, True)]
chosen, final, sizes, tried = {}, {}, {}, {}
for arm in arms:
    chosen[arm], runs = tune(arm)
    tried[arm] = {rate: run["train_loss"][-1] for rate, run in runs.items()}
    val = [runs[chosen[arm]]["val_loss"][-1]] + [
        train(arm, chosen[arm], seed, depth_epochs)["val_loss"][-1]
        for seed in range(1, num_seeds)]
    final[arm] = torch.tensor(val).exp()
    sizes[arm] = count_params(new_model(*arm))
    print("layers: {}, units: {}, residual: {};".format(*arm),
          f"{sizes[arm]} parameters, rate {chosen[arm]:.2g}, perplexity",
          ", ".join(f"{p:.2f}" for p in final[arm].tolist()))

# %%
# check: equal sizes where the text says so, a grid that is not too short
if real:
    assert abs(sizes[1, 71, False] / sizes[4, 32, True] - 1) < 0.01
    assert 3 * sizes[1, 32, False] < sizes[4, 32, False]
assert sizes[4, 32, False] == sizes[4, 32, True]
assert all(len(path) == num_seeds for path in final.values())
mean = {arm: path.mean() for arm, path in final.items()}
for arm, losses in tried.items():
    assert chosen[arm] == min(losses, key=losses.get) and len(losses) == 3
if full_run and real:
    for arm, losses in tried.items():
        assert min(losses) < chosen[arm] < max(losses)
    narrow, wide = (1, 32, False), (1, 71, False)
    assert abs(mean[narrow] - mean[wide]) < 0.3
    assert final[4, 32, False].min() > final[narrow].max() + 0.3
    assert mean[4, 32, True] < mean[wide] - 0.1
    assert abs(mean[2, 32, False] - mean[narrow]) < 0.3
    assert mean[2, 32, True] < mean[narrow] - 0.05
    assert abs(mean[2, 32, True] - mean[4, 32, True]) < 0.2
    assert min(map(min, final.values())) > trigram + 0.3

# %% tags=["hide-input", "rtol=0.1"]
fig, ax = plt.subplots(figsize=(6, 3.6))
families = {"one layer, wider": [(1, 32, False), (1, 71, False)],
            "more layers": [(1, 32, False), (2, 32, False), (4, 32, False)],
            "more layers, residual": [(1, 32, False), (2, 32, True),
                                      (4, 32, True)]}
for (name, members), style in zip(families.items(), ("C0-o", "C1--s",
                                                     "C2-.^")):
    xs = [sizes[arm] for arm in members]
    ax.plot(xs, [mean[arm] for arm in members], style[:-1], lw=1.4)
    for arm, x in zip(members, xs):
        ax.plot([x] * num_seeds, final[arm], style[:2] + style[-1],
                alpha=0.8, label=name if x == xs[-1] else None)
ax.axhline(trigram, color="#777777", lw=0.8, ls=":")
ax.text(sizes[1, 32, False], trigram, "trigram", fontsize=8, va="bottom",
        color="#555555")
ax.set(xlabel="parameters", ylabel="validation perplexity")
ax.legend(fontsize=8)
d2l.describe(ax, """Validation perplexity after 100 steps against the number of
    parameters, three dots for each architecture. Single layers of
    both widths lie between 7.5 and 8. Two plain layers lie level with
    them, four far above all. With residual connections two and four layers
    lie lowest on average, level with each other.""")

# %% [markdown]
# **Figure 10.3.5.** Equal steps, each architecture at its own rate, three seeds.
#
# In this setting four plain layers are worse than a single layer with less than a third of their parameters.
# One layer of 71 units is about level with one of 32, and so are two plain layers.
# With residual connections the same four layers, with the same parameters, end below the wide layer on average.
# Two residual layers are about as good as four.
# None has reached the trigrams yet.
#
# So at this budget four layers beat one layer of equal size only where each layer above the first adds to the one below instead of replacing it.
# No single layer of equal size stands beside the stacks of two; whether their second layer is worth its parameters remains open.
# That is one cell, one text and 100 steps; with twice the steps the lead of the four residual layers over the wide one is still there (Exercise 10.3-3).
#
# ## Where it stands
#
# Stacks of recurrent networks are old: Schmidhuber (1992) built a hierarchy in which higher levels read what lower ones failed to predict, El Hihi and Bengio (1995) one with several time scales.
# Pascanu and others (2013) point out three more places where a recurrent network can be deepened: between input and state, between state and state, between state and output.
# With deep LSTMs Graves, Mohamed and Hinton (2013) reached, to their knowledge, the best result recorded until then on TIMIT, a benchmark of phoneme recognition.
# In translation, Shu and Miura (2016) observed that plain stacks in the decoder slowed the training and made results worse, and that residual connections helped.
# *Dive into Deep Learning* calls 1 to 8 layers of 64 to about 2000 units common, and warns that learning rate, clipping and initialization need care.
#
# Some recent recurrent language models are stacks of residual blocks, too: in Griffin (De and others, 2024) each recurrent layer sits behind a normalization, and its output is added to its input; xLSTM (Beck and others, 2024) stacks such blocks as well.
# The Transformer is built in the same way (Section 11.7).

# %% [markdown]
# ## Summary
#
# - In a stack each cell reads the state of its layer at the step before, and the state of the layer below at the same step; the first layer alone reads the input.
# - $TL$ cells need $T+L-1$ rounds, if what is ready runs together.
# - `num_layers` is a chain of layers; its `dropout` acts between them, with a new mask at each step, and does nothing with one layer.
# - From weights of standard deviation $\sigma$ each further layer multiplies the first gradient by about $\sigma\sqrt h$; at 0.01 two layers stayed at the level of single characters for 100 steps of SGD at the rate 1; with the library's start they did not.
# - After 100 steps of Adam four plain layers of tanh units were worse than one wide layer with as many parameters, and the same four with residual connections were better than it on average.

# %% [markdown]
# ## Exercises
#
# ### Exercise 10.3-1
#
# Use `nn.LSTM` in `Stack`, and compare the time of a forward and a backward pass for two layers of RNN, GRU and LSTM.
# How do parameters and time relate?

# %% [markdown]
# #### Solution 10.3-1

# %% [markdown]
# `Stack` passes states on without looking into them, so the pairs of an LSTM need no change.
# Parameters of the layers are as 1 : 3 : 4, and so are the multiplications in the matrix products; the time depends on the kernels of the library and the device, and need not follow.
# We time them with the clock of [Section 9.6](../09-recurrent-neural-networks/06-rnn-concise.ipynb): the cells take turns, and the fastest of several repetitions counts.

# %%
cells = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
chain, whole = Stack(28, 32, 2, nn.LSTM), nn.LSTM(28, 32, 2)
with torch.no_grad():
    for p, q in zip(chain.parameters(), whole.parameters(), strict=True):
        p.copy_(q)
    ours, states = chain(Xs)
    theirs, (h_n, c_n) = whole(Xs)
    assert torch.equal(ours, theirs)
    for i, (h, c) in enumerate(states):
        assert torch.equal(h[0], h_n[i]) and torch.equal(c[0], c_n[i])
    again = chain(Xs[5:], chain(Xs[:5])[1])[0]
    torch.testing.assert_close(again, ours[5:])
assert [count_params(Stack(28, 32, 2, cell)) // 4096
        for cell in cells.values()] == [1, 3, 4]

# %% tags=["timing"]
device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")
models = [RNNLM(Stack(V, 32, 2, cell), V).to(device)
          for cell in cells.values()]
batch = d2l.to_device((data.X[:32], data.Y[:32]), device)
seconds = torch.tensor([[time_step(model, batch) for model in models]
                        for _ in range(timing_reps)]).amin(dim=0)
for name, s in zip(cells, seconds.tolist()):
    print(f"{name}: {1000 * s:.1f} ms, {s / seconds[0]:.1f} times an RNN's")
assert seconds.shape == (3,) and (seconds > 0).all()

# %% [markdown]
# ### Exercise 10.3-2
#
# (a) Train three layers, with and without residual connections, as for Figure 10.3.5, at the rates of the stacks of two.
# (b) Adam divides each gradient by a running estimate of its size.
# Does that spare three layers that start small the residual connection?

# %% [markdown]
# #### Solution 10.3-2

# %% [markdown]
# (a) As with four layers, the residual ones end lower in all three seeds.
# Without the connection three layers are on average no better than one; with it they are.
#
# (b) At the rate 0.01 it does not: after 100 steps the three layers are still where a table of single characters is.
# At 0.03 some runs leave the plateau.
# So the size of the gradient is not the whole story; whether the steps of different batches agree may matter as well, which we have not measured.

# %% tags=["rtol=0.1"]
three = {residual: torch.tensor([
    train((3, 32, residual), chosen[2, 32, residual], seed,
          depth_epochs)["val_loss"][-1]
    for seed in range(num_seeds)]).exp() for residual in (False, True)}
for residual, values in three.items():
    print(f"three layers, residual: {residual};",
          ", ".join(f"{p:.2f}" for p in values.tolist()))
if full_run and real:
    assert three[True].max() < three[False].min()
    assert three[True].mean() < mean[1, 32, False] - 0.1
    assert three[False].mean() > mean[1, 32, False] - 0.1

# %% tags=["chaotic"]
rescued = {rate: plateau(3, optimizer=adam(rate)) for rate in (0.01, 0.03)}
for rate, curve in rescued.items():
    print(f"Adam, rate {rate}:",
          ", ".join(f"{p:.1f}" for p in curve[:, -1].tolist()))
if full_run and real:
    assert (rescued[0.01][:, -1] / unigram - 1).abs().max() < 0.03
    assert rescued[0.03][:, -1].min() < 0.95 * unigram

# %% [markdown]
# ### Exercise 10.3-3
#
# (a) How many units has a single layer, or a stack of $L$ layers, with about as many parameters in the whole model as a single layer of 64 units?
# (b) Does the lead of four residual layers over one layer with as many parameters last when both train twice as long?

# %% [markdown]
# #### Solution 10.3-3

# %% [markdown]
# (a) With $d=q=V$ the model has $h(V+h+2)+(L-1)h(2h+2)+(h+1)V$ parameters, a quadratic polynomial in $h$; we take the root and round.
# A stack of four must be less than half as wide.
#
# (b) After 200 steps, at the rates of the shorter runs, both are better than before, and the stack still leads on average.

# %%
def equal_width(num_layers, target):
    """Units per layer of a stack with about `target` parameters."""
    a, b = 2 * num_layers - 1, 2 * V + 2 * num_layers
    return round((math.sqrt(b**2 + 4 * a * (target - V)) - b) / (2 * a))


target = count_params(new_model(1, 64))
widths = {L: equal_width(L, target) for L in (1, 2, 3, 4)}
print("units per layer:", widths)
for L, h in widths.items():
    assert abs(count_params(new_model(L, h)) / target - 1) < 0.03
assert widths[1] == 64 and (widths[4] < 32 or not real)
for L, h in ((1, 1), (3, 2), (2, 100)):  # the exact inverse
    assert equal_width(L, count_params(new_model(L, h))) == h

# %% tags=["rtol=0.05"]
longer = {arm: torch.tensor([
    train(arm, chosen[arm], seed, 2 * depth_epochs)["val_loss"][-1]
    for seed in range(num_seeds)]).exp()
    for arm in ((1, 71, False), (4, 32, True))}
for arm, values in longer.items():
    print("layers: {}, units: {}, residual: {};".format(*arm),
          ", ".join(f"{p:.2f}" for p in values.tolist()))
if full_run and real:
    wide, deep = longer.values()
    assert deep.mean() < wide.mean() - 0.1
    assert wide.mean() < mean[1, 71, False] - 0.2
    assert deep.mean() < mean[4, 32, True] - 0.2

# %% [markdown]
# ### Exercise 10.3-4
#
# Train the two residual layers on Wells, on equally many characters of Jane Austen, and on both together, for the same 100 steps at the same rate, and test them on Wells.
# Does the foreign text help?

# %% [markdown]
# #### Solution 10.3-4

# %% [markdown]
# A network that has read Austen alone is clearly worse on Wells than the other two, in all three seeds.
# With both texts it is not better than with Wells alone.
# At equal steps the mixture shows the network about half as many windows of Wells, and 100 steps do not exhaust either text.
# So this answers what to read in a given time, not whether more text helps a longer training.

# %% tags=["rtol=0.05"]
austen, _ = data.build(read_text("austen")[:2 * cut], data.vocab)
wells = data.corpus[:cut]
pools = {"Wells": windows(wells), "Austen": windows(austen[:cut]),
         "both": windows(torch.cat((wells, austen[:cut])))}


def read_and_test(pool):
    """Perplexity on the last tenth of Wells, (seeds,)."""
    other = copy.copy(data)
    other.pool, tests = pool, []
    for seed in range(num_seeds):
        history = fit_clipped(
            new_model(2, 32, True, seed), other, depth_epochs, seed=seed,
            optimizer=adam(chosen[2, 32, True]), num_gpus=num_gpus)
        tests.append(history["val_loss"][-1])
    return torch.tensor(tests).exp()


tested = {name: read_and_test(pools[name]) for name in ("Austen", "both")}
tested["Wells"] = final[2, 32, True]  # trained in the same way above
for name, values in tested.items():
    print(f"{name}:", ", ".join(f"{p:.2f}" for p in values.tolist()))
assert len(pools["Austen"]) == len(pools["Wells"]) == cut - 32
assert len(pools["both"]) == 2 * cut - 32
assert torch.equal(pools["Wells"].tensors[0], data.pool.tensors[0])
for place, corpus in ((0, wells), (cut, austen)):
    assert torch.equal(pools["both"].tensors[0][place], corpus[:32])
assert torch.equal(pools["Austen"].tensors[0][0], austen[:32])
assert not torch.equal(austen[:32], wells[:32])
if full_run and real:
    wells_mean, both_mean = tested["Wells"].mean(), tested["both"].mean()
    assert wells_mean - 0.1 < both_mean < wells_mean + 0.5
    for name in ("Wells", "both"):
        assert tested[name].max() < tested["Austen"].min() - 0.3

# %% [markdown]
# ### Exercise 10.3-5
#
# Implement the dropout of Gal and Ghahramani (2016) for the tanh stack: for each sequence and layer one mask on what comes from below and one on what comes from the step before, both for all steps.
# Leave the input itself whole.
# Show that the masks do not change with time, whereas those of `nn.RNN` do.

# %% [markdown]
# #### Solution 10.3-5

# %% [markdown]
# The masks are drawn before the loop over time.
# If inputs are the same at each step and nothing comes from the step before, the outputs must be the same at each step, too.
# And a unit that is dropped along time receives no gradient in the first state, whatever the length of the sequence.

# %%
class VariationalRNN(StackedRNNScratch):
    """A tanh stack whose dropout masks hold for all steps."""

    def __init__(self, num_inputs, num_hiddens, num_layers, dropout,
                 sigma=0.01):
        super().__init__(num_inputs, num_hiddens, num_layers, sigma)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs, Hs=None):
        """As in StackedRNNScratch; in eval mode the same function."""
        below, last = inputs, []
        ones = inputs.new_ones(inputs.shape[1], self.num_hiddens)
        for i, rnn in enumerate(self.rnns):
            H = Hs[i] if Hs else torch.zeros_like(ones)
            along, up = self.dropout(ones), self.dropout(ones)
            if i > 0:
                below = below * up
            states = []
            for X in below:
                H = rnn_step(X, along * H, rnn.W_xh, rnn.W_hh, rnn.b_h)
                states.append(H)
            below = torch.stack(states)
            last.append(H)
        return below, last

# %%
torch.manual_seed(3)
net, plain = (cls(28, 32, 2, *more, sigma=0.3) for cls, more in (
    (VariationalRNN, [0.5]), (StackedRNNScratch, [])))
plain.load_state_dict(net.state_dict())
start = [torch.randn(4, 32, requires_grad=True) for _ in range(2)]
with torch.no_grad():
    net.eval()
    for Hs in (None, start):
        for ours, theirs in zip(net(Xs, Hs), plain(Xs, Hs)):
            torch.testing.assert_close(ours, theirs)
    net.train()
    assert not torch.allclose(net(Xs)[0], net(Xs)[0])
grads = torch.autograd.grad(net(Xs, start)[0][-1].sum(), start)
lost = [grad == 0 for grad in grads]  # half of the units are cut off
assert all(abs(gone.float().mean() - 0.5) < 0.15 for gone in lost)
assert not torch.equal(lost[0], lost[1])  # each layer has its mask
assert all((gone != gone[:1]).any() for gone in lost)  # and each sequence
library = nn.RNN(28, 32, 2, dropout=0.5)
with torch.no_grad():
    for name, p in library.named_parameters():
        if "weight_hh" in name:
            p.zero_()
    for rnn in net.rnns:
        rnn.W_hh.zero_()
    steady = Xs[:1].expand(10, 4, 28)
    ours, theirs = net(steady)[0], library(steady)[0]
    torch.testing.assert_close(ours, ours[:1].expand_as(ours))
    assert (theirs[1:] - theirs[:1]).abs().max() > 0.1
    assert not torch.allclose(ours, net(steady)[0])  # masks on the way up
    assert torch.equal(net(steady)[1][0], net(steady)[1][0])  # whole input
    for rnn in net.rnns:  # nothing but the past: who is dropped stays 0
        rnn.W_xh.zero_()
        rnn.b_h.zero_()
        rnn.W_hh.copy_(torch.eye(32))
    for H in net(steady, [torch.ones(4, 32)] * 2)[1]:
        assert abs((H > 0).float().mean() - 0.5) < 0.15
    net.rnns[1].W_xh.copy_(torch.eye(32))
    top = net(steady, [torch.ones(4, 32), torch.zeros(4, 32)])[0][-1]
    assert top[top > 0].std() > 0.01  # the mask along is another than up

# %% [markdown]
# ## Sources
#
# - J. Schmidhuber, Learning complex, extended sequences using the principle of history compression, *Neural Computation* 4, 1992, [doi:10.1162/neco.1992.4.2.234](https://doi.org/10.1162/neco.1992.4.2.234): a hierarchy of recurrent networks.
# - S. El Hihi and Y. Bengio, [Hierarchical recurrent neural networks for long-term dependencies](https://papers.nips.cc/paper_files/paper/1995/hash/c667d53acd899a97a85de0c201ba99be-Abstract.html), 1995.
# - R. Pascanu, C. Gulcehre, K. Cho and Y. Bengio, How to construct deep recurrent neural networks, 2013, [arXiv:1312.6026](https://arxiv.org/abs/1312.6026).
# - A. Graves, A. Mohamed and G. Hinton, Speech recognition with deep recurrent neural networks, 2013, [arXiv:1303.5778](https://arxiv.org/abs/1303.5778).
# - W. Zaremba, I. Sutskever and O. Vinyals, Recurrent neural network regularization, 2014, [arXiv:1409.2329](https://arxiv.org/abs/1409.2329).
# - Y. Gal and Z. Ghahramani, A theoretically grounded application of dropout in recurrent neural networks, 2016, [arXiv:1512.05287](https://arxiv.org/abs/1512.05287).
# - J. Appleyard, T. Kočiský and P. Blunsom, Optimizing performance of recurrent neural networks on GPUs, 2016, [arXiv:1604.01946](https://arxiv.org/abs/1604.01946).
# - R. Shu and A. Miura, [Residual stacking of RNNs for neural machine translation](https://aclanthology.org/W16-4623), 2016.
# - S. De and others, Griffin: mixing gated linear recurrences with local attention for efficient language models, 2024, [arXiv:2402.19427](https://arxiv.org/abs/2402.19427).
# - M. Beck and others, xLSTM: extended long short-term memory, 2024, [arXiv:2405.04517](https://arxiv.org/abs/2405.04517).
# - PyTorch documentation, [torch.nn.GRU](https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html): `num_layers`, `dropout`, the order of `h_n`.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics, and common depths and widths.
