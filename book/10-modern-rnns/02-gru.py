# ---
# jupyter:
#   d2l:
#     data: [time-machine]
#     profiles:
#       gpu:
#         max_epochs: 50
#         compare_epochs: 12
#         num_gpus: 1
#       smoke:
#         max_epochs: 1
#         compare_epochs: 1
#         num_seeds: 2
#         timing_reps: 2
#     rehearsal:
#       max_epochs: 0.1
#       compare_epochs: 0.25
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
# # 10.2 Gated recurrent units (GRU)
#
# The LSTM of [Section 10.1](01-lstm.ipynb) has three gates and two states.
# The *gated recurrent unit* (GRU) makes do with two gates and one state.
# Does it lose anything, and can one go further and take the memory out of the gates, as the recurrent layers of recent language models do?
#
# **You will**
#
# - build a GRU, test each gate at its extremes, and show one variant equal to `nn.GRU` and the other one different;
# - compare RNN, LSTM and GRU at equal parameters and steps, each at its own learning rate, with three seeds;
# - write a minimal GRU and a selective scan, layers that are trained without a loop over time, and see what they cannot do.
#
# **Cost**: about 40 seconds on a CPU; a download of 0.2 MB, once.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import (
    BatchSampler, DataLoader, RandomSampler, TensorDataset)

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.linear_regression import Module, add_to_class
from d2l_helpers.chapters.modern_rnns import LSTM, recall_task
from d2l_helpers.chapters.recurrent_neural_networks import (
    RNN, RNNLM, NgramLM, RNNLMScratch, RNNScratch, TimeMachine, fit_clipped,
    influence, linear_scan, time_step)

d2l.use_style()

# %% tags=["parameters"]
max_epochs = 30  # of 10 steps, from scratch
compare_epochs = 4  # of 50 steps, each cell and rate
num_seeds = 3
timing_reps = 10  # of each step that is timed
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## Two gates
#
# Cho and others (2014) introduced the cell for machine translation, as one that is simpler to compute than an LSTM.
# Chung and others (2014) compared the two on music and speech and found both better than plain tanh units, and the GRU comparable to the LSTM.
#
# A GRU keeps one state $\mathbf{H}_t\in\mathbb{R}^{n\times h}$ for $n$ sequences and $h$ units.
# Two gates look at the input $\mathbf{X}_t\in\mathbb{R}^{n\times d}$ and at the previous state:
#
# $$\begin{aligned}\mathbf{R}_t&=\sigma(\mathbf{X}_t\mathbf{W}_{xr}+\mathbf{H}_{t-1}\mathbf{W}_{hr}+\mathbf{b}_r),\\ \mathbf{Z}_t&=\sigma(\mathbf{X}_t\mathbf{W}_{xz}+\mathbf{H}_{t-1}\mathbf{W}_{hz}+\mathbf{b}_z).\end{aligned} \tag{10.2.1}$$
#
# The *reset gate* $\mathbf{R}_t$ and the *update gate* $\mathbf{Z}_t$ have shape $(n,h)$ and entries between 0 and 1; $\mathbf{W}_{xr},\mathbf{W}_{xz}$ are $d\times h$, $\mathbf{W}_{hr},\mathbf{W}_{hz}$ are $h\times h$, and the biases have shape $(h,)$.
#
# ![Previous state and input both enter two boxes with a sigmoid, the reset gate and the update gate.](img/gru-gates.svg)
#
# **Figure 10.2.1.** Both gates see the input and the previous state.

# %% tags=["export"]
class GRUScratch(Module):
    """A layer of gated recurrent units, from tensors.

    The reset gate acts on the state before the matrix product, or, with
    `reset_after`, on the product, where the bias of the state's part is
    inside, as in `nn.GRU`. Weights are normal with standard deviation
    `sigma`, biases zero.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01,
                 reset_after=False):
        super().__init__()
        self.save_hyperparameters()

        def triple():
            return (nn.Parameter(sigma * torch.randn(num_inputs,
                                                     num_hiddens)),
                    nn.Parameter(sigma * torch.randn(num_hiddens,
                                                     num_hiddens)),
                    nn.Parameter(torch.zeros(num_hiddens)))

        self.W_xr, self.W_hr, self.b_r = triple()  # reset gate
        self.W_xz, self.W_hz, self.b_z = triple()  # update gate
        self.W_xh, self.W_hh, self.b_h = triple()  # candidate
        if reset_after:
            self.b_hh = nn.Parameter(torch.zeros(num_hiddens))

    def gates(self, X, H):
        """Reset and update gate, both (n, h)."""
        R = torch.sigmoid(X @ self.W_xr + H @ self.W_hr + self.b_r)
        Z = torch.sigmoid(X @ self.W_xz + H @ self.W_hz + self.b_z)
        return R, Z

# %%
torch.manual_seed(0)
layer = GRUScratch(28, 32, sigma=0.5)
X, H = torch.randn(3, 28), torch.zeros(3, 32)
R, Z = layer.gates(X, H)
torch.testing.assert_close(R, torch.sigmoid(X @ layer.W_xr))
torch.testing.assert_close(Z, torch.sigmoid(X @ layer.W_xz))
print("update gates", [round(z, 2) for z in Z[0, :5].tolist()])

# %% [markdown]
# ## The candidate
#
# The reset gate decides how much of the old state enters the proposal for a new one, the *candidate* $\tilde{\mathbf{H}}_t\in(-1,1)^{n\times h}$:
#
# $$\tilde{\mathbf{H}}_t=\tanh\left(\mathbf{X}_t\mathbf{W}_{xh}+(\mathbf{R}_t\odot\mathbf{H}_{t-1})\mathbf{W}_{hh}+\mathbf{b}_h\right), \tag{10.2.2}$$
#
# where $\odot$ multiplies entry by entry, $\mathbf{W}_{xh}$ is $d\times h$, $\mathbf{W}_{hh}$ is $h\times h$ and $\mathbf{b}_h$ has shape $(h,)$.
# With $\mathbf{R}_t$ at 1 it is the update of a plain RNN; with $\mathbf{R}_t$ at 0 the past is gone, and the candidate is a layer of an MLP applied to $\mathbf{X}_t$ alone.
#
# ![As before; now the reset gate multiplies the previous state, and the product enters a box with tanh together with the input. Its output is the candidate.](img/gru-candidate.svg)
#
# **Figure 10.2.2.** The candidate sees the state through the reset gate.
#
# ## The new state
#
# The update gate mixes old state and candidate:
#
# $$\mathbf{H}_t=\mathbf{Z}_t\odot\mathbf{H}_{t-1}+(1-\mathbf{Z}_t)\odot\tilde{\mathbf{H}}_t. \tag{10.2.3}$$
#
# A unit with old state 0.8, candidate $-0.4$ and $z=0.75$ moves to $0.75\cdot0.8+0.25\cdot(-0.4)=0.5$.
# At $z=1$ it would skip the step and keep 0.8, at $z=0$ take $-0.4$.
# Some papers and libraries swap the roles of $\mathbf{Z}_t$ and $1-\mathbf{Z}_t$; look before you copy a bias.
#
# ![The complete step. The previous state runs straight through a product with the update gate and a sum to the new state; the candidate joins after a product with one minus the update gate.](img/gru-state.svg)
#
# **Figure 10.2.3.** The whole step; the upper line is the direct path from state to state.

# %% tags=["export"]
@add_to_class(GRUScratch)
def step(self, X, H):
    """The next state (n, h)."""
    R, Z = self.gates(X, H)
    if self.reset_after:
        recalled = R * (H @ self.W_hh + self.b_hh)
    else:
        recalled = (R * H) @ self.W_hh
    H_tilde = torch.tanh(X @ self.W_xh + recalled + self.b_h)
    return Z * H + (1 - Z) * H_tilde


@add_to_class(GRUScratch)
def forward(self, inputs, H=None):
    """Outputs (T, n, h) and the last state (n, h) for (T, n, d).

    Without `H` the first state is zero.
    """
    if H is None:
        H = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
    outputs = []
    for X in inputs:
        H = self.step(X, H)
        outputs.append(H)
    return torch.stack(outputs), H

# %% [markdown]
# The limits in the text are tests: a bias of $\pm1000$ holds a gate at exactly 1 or 0 in 32-bit numbers.
# Note that the plain RNN needs both gates, $\mathbf{R}_t=1$ *and* $\mathbf{Z}_t=0$; it is often said that the open reset gate is enough.

# %%
# check 10.2-C3: gates at their limits: a copy, a plain RNN, an MLP
def hold(layer, reset, update):
    """Fix both gates by their biases, in place."""
    with torch.no_grad():
        layer.b_r.fill_(1000 * (2 * reset - 1))
        layer.b_z.fill_(1000 * (2 * update - 1))


Xs, H_0 = torch.randn(20, 3, 28), torch.rand(3, 32) * 2 - 1
plain = RNNScratch(28, 32)
with torch.no_grad():
    nn.init.normal_(layer.b_h)
    plain.W_xh, plain.W_hh, plain.b_h = layer.W_xh, layer.W_hh, layer.b_h
    for reset in (0, 1):
        hold(layer, reset, update=1)
        assert torch.equal(layer(Xs, H_0)[1], H_0)
    hold(layer, reset=1, update=0)
    torch.testing.assert_close(layer(Xs, H_0)[0], plain(Xs, H_0)[0],
                               rtol=0, atol=1e-5)
    hold(layer, reset=0, update=0)
    mlp = torch.tanh(Xs @ layer.W_xh + layer.b_h)
    torch.testing.assert_close(layer(Xs, H_0)[0], mlp, rtol=0, atol=1e-5)

# %% [markdown]
# ## The direct path
#
# Equation (10.2.3) is a weighted mean.
# So no unit can leave $[-1,1]$ once it is inside (Exercise 10.2-4), however large the inputs are, and the LSTM's second tanh is not needed.
#
# The gradient has a direct path, too.
# With gates and candidate held fixed, $\partial\mathbf{H}_t/\partial\mathbf{H}_{t-1}$ is, for each sequence, the diagonal matrix with the entries of $\mathbf{Z}_t$, and over $k$ steps what remains is their product.
# If weights and inputs are near 0, this is $\sigma(b_z)^k$ for the update bias $b_z$: over 30 steps $0.5^{30}\approx9\cdot10^{-10}$ for $b_z=0$, and 0.23 for $b_z=3$.

# %%
# check 10.2-C4: states stay in [-1, 1]; the direct path is a product
torch.manual_seed(1)
layer = GRUScratch(28, 32, sigma=1)
outputs, _ = layer(10 * torch.randn(50, 16, 28))
assert 0.99 < outputs.abs().max() <= 1
far = layer(10 * torch.randn(50, 16, 28), torch.full((16, 32), 3.0))[0]
assert far.max() <= 3 and far[-1].abs().max() <= 1
for bias in (0.0, 3.0):
    quiet = GRUScratch(1, 1, sigma=0)
    nn.init.constant_(quiet.b_z, bias)
    H_0 = torch.ones(1, 1, requires_grad=True)
    grad, = torch.autograd.grad(quiet(torch.zeros(30, 1, 1), H_0)[1], H_0)
    print(f"update bias {bias:g}: gradient over 30 steps {grad.item():.2g}")
    assert math.isclose(grad.item(), (1 / (1 + math.exp(-bias)))**30,
                        rel_tol=1e-4)

# %% [markdown]
# So a unit with its update gate near 1 can carry information far, whatever its reset gate does; that decides how much of the unit the candidates see.
# When each gate opens is learned.
#
# ## Training from scratch
#
# The first nine tenths of *The Time Machine* are for training: batches of 64 windows of 32 characters, drawn at random, with Adam at the rate 0.03 and clipping at norm 1 ([Section 9.5](../09-recurrent-neural-networks/05-rnn-scratch.ipynb)).
# The last tenth is read in windows of 32 from a zero state; every character but a remainder shorter than a window is predicted once.
# An epoch is 10 steps here.

# %%
class Pool(TimeMachine):
    """Random batches, `steps` an epoch; validation is the rest."""

    def __init__(self, batch_size, steps, num_train):
        super().__init__(batch_size, num_train=num_train)
        self.steps = steps

    def get_dataloader(self, train):
        if not train:  # the first target is the first unseen character
            rows = slice(self.num_train + self.num_steps - 1, None,
                         self.num_steps)
            return self.get_tensorloader((self.X, self.Y), False, rows)
        windows = TensorDataset(self.X[:self.num_train],
                                self.Y[:self.num_train])
        draws = RandomSampler(windows, generator=self.generator,
                              num_samples=self.steps * self.batch_size)
        batches = BatchSampler(draws, self.batch_size, drop_last=False)
        return DataLoader(windows, batch_size=None, sampler=batches)

# %%
length = len(TimeMachine(64).corpus)
cut = int(0.9 * length)  # the first held-out character
data = Pool(64, steps=10, num_train=cut - 32)
V = len(data.vocab)
counts = NgramLM(4, V, eps=5).fit(data.corpus[:cut])
log_probs = counts.log_probs_by_order(data.corpus[cut - 3:])  # by context
bigram, trigram, fourgram = torch.exp(-log_probs.mean(dim=1))[1:].tolist()
torch.manual_seed(0)
scratch = RNNLMScratch(GRUScratch(V, 32), V)
history = fit_clipped(
    scratch, data, max_epochs, num_gpus=num_gpus,
    optimizer=lambda params: torch.optim.Adam(params, lr=0.03))

# %% tags=["hide-input"]
# check: no held-out character is trained on, each is predicted once
real = d2l.fetch("time-machine").source == "real"
full_run = max_epochs >= 30 and compare_epochs >= 4 and num_seeds >= 3
data.generator = torch.Generator().manual_seed(0)
targets = torch.cat([Y.flatten() for _, Y in data.val_dataloader()])
assert torch.equal(targets, data.corpus[cut:cut + len(targets)])
assert 0 <= len(data.corpus) - cut - len(targets) < 32
batches = list(data.train_dataloader())
assert len(batches) == 10 and batches[0][0].shape == (64, 32)
assert data.num_train + data.num_steps == cut
assert not torch.equal(batches[0][0], batches[1][0])
assert len(data.train_dataloader().dataset) == data.num_train
torch.manual_seed(1)
data.generator.manual_seed(0)
again = list(data.train_dataloader())  # the generator alone decides
assert all(torch.equal(a[0], b[0]) for a, b in zip(again, batches))
assert 0 <= 0.9 * length - cut < 1
assert log_probs.shape == (4, length - cut)  # the tables predict each, too
assert counts.counts[0][1].sum() == cut  # and have seen no other

# %% tags=["rtol=0.1"]
val = torch.tensor(history["val_loss"]).exp()
print(f"validation perplexity {val[-1]:.2f}; "
      f"bigram {bigram:.2f}, trigram {trigram:.2f}, "
      f"four characters {fourgram:.2f}")

# %%
# check 10.2-C5: between the tables of three and of four characters
if full_run and real:
    assert val[-1] < 9.5 < bigram and val[-1] < trigram - 0.2
    assert fourgram < val[-1] - 0.3

# %% [markdown]
# After 300 steps the GRU is ahead of a trigram model smoothed with $\varepsilon=5$ on the same text, and behind the table that sees three characters before the next one.
# [Section 9.3](../09-recurrent-neural-networks/03-language-models.ipynb) shows how far such tables get with longer contexts and tuned smoothing.
#
# What did the update gates learn?
# We let the network read a stretch of unseen text and record them.

# %%
def update_gates(layer, inputs):
    """The update gates (T, n, h) while the layer reads (T, n, d)."""
    H, gates = torch.zeros(inputs.shape[1], layer.num_hiddens), []
    with torch.no_grad():
        for X in inputs:
            gates.append(layer.gates(X, H)[1])
            H = layer.step(X, H)
    return torch.stack(gates)


scratch = scratch.cpu()
heard = data.corpus[cut:cut + 2048]
gates = update_gates(scratch.rnn, scratch.one_hot(heard[None]))[:, 0]
space = heard == data.vocab[" "]
first = torch.cat((torch.tensor([False]), space[:-1]))  # after a space
contrast = gates[first].mean(dim=0) - gates[~first].mean(dim=0)  # (h,)
means = [gates[where].mean().item()
         for where in (space, first, ~space & ~first)]
print("mean gate: spaces {:.2f}, first letters {:.2f}, "
      "other letters {:.2f}".format(*means))
print(f"first letter minus the rest, by unit: {contrast.min():.1f} "
      f"to {contrast.max():.1f}")

# %%
# check: the gates are those of the step; they heed word boundaries
inputs = scratch.one_hot(heard[None, :2])
with torch.no_grad():
    one, two = (scratch.rnn(inputs[:k])[1] for k in (1, 2))
    again = scratch.rnn.gates(inputs[1], one)[1]
    torch.testing.assert_close(again, gates[1:2])
    torch.testing.assert_close(scratch.rnn(inputs[1:], one)[1], two)
if full_run and real:
    assert contrast.max() > 0.4
    assert 1.5 * means[0] < min(means[1:])
    low = gates.mean(dim=0) < 0.2, gates[space].mean(dim=0) < 0.2
    assert low[0].sum() < low[1].sum() > 0.8 * len(contrast)
assert contrast.abs().max() <= 1 and max(means) <= 1
assert heard[0] != data.vocab[" "] and not (space & first).any()

# %% tags=["chaotic", "hide-input"]
shown = 56
fig, ax = plt.subplots(figsize=(7.2, 3.0))
order = contrast.argsort(descending=True)
assert contrast[order[0]] == contrast.max()  # the top row
image = ax.imshow(gates[:shown, order].T, cmap="viridis", vmin=0, vmax=1,
                  aspect="auto")
text = data.vocab.to_tokens(heard[:shown])
ax.set_xticks(range(shown), labels=[c.replace(" ", "␣") for c in text],
              fontsize=7)
ax.tick_params(axis="x", length=0)
ax.grid(visible=False)
ax.set(ylabel="hidden unit", xlabel="character read")
fig.colorbar(image, ax=ax, label="update gate")
d2l.describe(ax, """Heat map of the update gates of 32 units over 56
    characters of unseen text. The rows at the top are near 1 at the first
    letter of most words and low elsewhere; at spaces nearly all rows are
    low; the others follow less regular patterns.""")

# %% [markdown]
# **Figure 10.2.4.** Update gates over unseen text, units sorted by first letter minus the rest.
# In this network most gates are low at a space, so the state is overwritten there.
# A few units, the upper rows, do the opposite one step later: at the first letter of a word they skip the step and keep what they wrote at the space.
#
# ## The library's variant
#
# `nn.GRU` computes the candidate in another way.
# Gates are as in (10.2.1), but
#
# $$\mathbf{N}_t=\tanh\left(\mathbf{X}_t\mathbf{W}_{xn}+\mathbf{b}_{xn}+\mathbf{R}_t\odot(\mathbf{H}_{t-1}\mathbf{W}_{hn}+\mathbf{b}_{hn})\right), \tag{10.2.4}$$
#
# where $\mathbf{N}_t$, called the new gate, takes the place of $\tilde{\mathbf{H}}_t$, and weights and biases have the shapes of those in (10.2.2).
# The reset gate acts *after* the product.
# Then no product has to wait for a gate: $\mathbf{H}_{t-1}$ meets all three matrices, side by side, in one product (Exercise 10.2-5).
# Cho and others have both: the first version of their preprint resets after the product, the final one before.
# Weights trained for one variant are not weights for the other, although all matrices have the same shapes; only the second bias of the candidate, $\mathbf{b}_{hn}$, tells the two apart.

# %% tags=["export"]
class GRU(RNN):
    """`nn.GRU`; the state is (num_layers, n, h).

    `dropout` acts between the layers.
    """

    def __init__(self, num_inputs, num_hiddens, num_layers=1, dropout=0):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.GRU(num_inputs, num_hiddens, num_layers,
                          dropout=dropout)

# %% [markdown]
# The library stacks its matrices in the order reset, update, new, one row for each unit.

# %%
def copy_to_nn_gru(scratch, layer):
    """Give an `nn.GRU` of one layer the weights of a GRUScratch."""
    s, zeros = scratch, torch.zeros_like(scratch.b_h)
    b_hn = s.b_hh if s.reset_after else zeros
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.cat((s.W_xr, s.W_xz, s.W_xh), 1).mT)
        layer.weight_hh_l0.copy_(torch.cat((s.W_hr, s.W_hz, s.W_hh), 1).mT)
        layer.bias_ih_l0.copy_(torch.cat((s.b_r, s.b_z, s.b_h)))
        layer.bias_hh_l0.copy_(torch.cat((zeros, zeros, b_hn)))

# %%
# check 10.2-C1: one variant is nn.GRU, the other is not
torch.manual_seed(2)
Xs, H_0, gaps = torch.randn(12, 4, 28), torch.randn(4, 32), []
library = GRU(28, 32)
for reset_after in (True, False):
    own = GRUScratch(28, 32, sigma=0.3, reset_after=reset_after)
    for name, p in own.named_parameters():
        if name.startswith("b_"):
            nn.init.normal_(p)
    copy_to_nn_gru(own, library.rnn)
    ours, theirs = own(Xs, H_0), library(Xs, H_0[None])
    gaps.append((ours[0] - theirs[0]).abs().max().item())
    if reset_after:
        torch.testing.assert_close(theirs[1][0], ours[1], rtol=0, atol=1e-5)
        (ours[0] * Xs[..., :1]).sum().backward()
        (theirs[0] * Xs[..., :1]).sum().backward()
        blocks = library.rnn.weight_hh_l0.grad.split(32)  # r, z, n
        for block, p in zip(blocks, (own.W_hr, own.W_hz, own.W_hh)):
            torch.testing.assert_close(block.mT, p.grad, rtol=0, atol=1e-4)
        torch.testing.assert_close(library.rnn.bias_hh_l0.grad[64:],
                                   own.b_hh.grad, rtol=0, atol=1e-4)
print(f"largest difference: after {gaps[0]:.0e}, before {gaps[1]:.2f}")
assert gaps[0] < 1e-5 and gaps[1] > 1e-2

# %% tags=["hide-input"]
# check: what the classes promise
start = GRUScratch(40, 50)
for name, p in start.named_parameters():
    if name.startswith("W_"):
        assert abs(p.std() - 0.01) < 0.001 and abs(p.mean()) < 0.001
    else:
        assert not p.any()
assert len(list(start.parameters())) == 9
assert abs(GRUScratch(40, 50, sigma=0.5).W_hz.std() - 0.5) < 0.05
zero = torch.zeros(4, 32)
torch.testing.assert_close(own(Xs)[0], own(Xs, zero)[0])
assert torch.equal(own(Xs)[0][-1], own(Xs)[1])
deep = GRU(28, 32, num_layers=2, dropout=0.5)
assert deep.rnn.num_layers == 2 and deep.rnn.dropout == 0.5
assert deep(Xs)[1].shape == (2, 4, 32) and deep.num_hiddens == 32
assert not torch.equal(deep(Xs)[0], deep(Xs)[0])  # dropout in training
assert library.rnn.num_layers == 1 and library.rnn.dropout == 0

# %% [markdown]
# Gates cost parameters: for 28 inputs and 32 units a GRU has three times those of an RNN, an LSTM four times.

# %%
# check 10.2-C2: parameters are as 1 : 3 : 4
sizes = [count_params(cell(28, 32)) for cell in (RNN, GRU, LSTM)]
print("RNN, GRU, LSTM:", sizes)
assert sizes == [1984, 5952, 7936]
assert sizes[1] == 3 * sizes[0] and 4 * sizes[1] == 3 * sizes[2]

# %% [markdown]
# ## Gates that see only the input
#
# The steps of a GRU follow one another because gates and candidate wait for the previous state.
# Take the state out of gates and candidate:
#
# $$\mathbf{Z}_t=\sigma(\mathbf{X}_t\mathbf{W}_z+\mathbf{b}_z),\qquad \tilde{\mathbf{H}}_t=\mathbf{X}_t\mathbf{W}_h+\mathbf{b}_h,\qquad \mathbf{H}_t=\mathbf{Z}_t\odot\mathbf{H}_{t-1}+(1-\mathbf{Z}_t)\odot\tilde{\mathbf{H}}_t, \tag{10.2.5}$$
#
# with $\mathbf{W}_z,\mathbf{W}_h\in\mathbb{R}^{d\times h}$ and biases of shape $(h,)$.
# This is linear in the state, with coefficients known in advance for all $t$, so `linear_scan` of [Section 9.7](../09-recurrent-neural-networks/07-backpropagation-through-time.ipynb) computes $T$ steps in about $\log_2T$ rounds.
# This update, with gates from the input alone, is the dynamic average pooling of Balduzzi and Ghifary (2016).
# Martin and Cundy (2018) trained such layers by a parallel scan; Feng and others (2024), who arrive at this one from the GRU, call it *minGRU*.

# %% tags=["export"]
class MinGRU(Module):
    """The minimal GRU: gate and candidate see only the input.

    So the update is linear in the state, and `linear_scan` computes all
    steps at once; the state is (n, h).
    """

    def __init__(self, num_inputs, num_hiddens):
        super().__init__()
        self.save_hyperparameters()
        self.gate = nn.Linear(num_inputs, num_hiddens)
        self.candidate = nn.Linear(num_inputs, num_hiddens)

    def forward(self, inputs, H=None):
        """Outputs (T, n, h) and the last state for inputs (T, n, d)."""
        Z = torch.sigmoid(self.gate(inputs))
        b = (1 - Z) * self.candidate(inputs)
        if H is not None:
            b = torch.cat((b[:1] + Z[:1] * H, b[1:]))
        outputs = linear_scan(Z, b)
        return outputs, outputs[-1]

# %%
# check 10.2-C6: scan and loop agree, outputs and gradients
def min_gru_loop(layer, inputs, H):
    """The states (T, n, h) of a MinGRU, step by step."""
    outputs = []
    for X in inputs:
        Z = torch.sigmoid(layer.gate(X))
        H = Z * H + (1 - Z) * layer.candidate(X)
        outputs.append(H)
    return torch.stack(outputs)


def assert_same(ways, arguments, parameters):
    """Equal outputs, and equal gradients with respect to everything."""
    leaves = [a.requires_grad_() for a in arguments] + list(parameters)
    results = []
    for way in ways:
        out = way(*arguments)
        weight = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
        results.append((out, *torch.autograd.grad((out * weight).sum(),
                                                  leaves)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


torch.manual_seed(3)
layer = MinGRU(28, 6)
assert_same((lambda X, H: layer(X, H)[0],
             lambda X, H: min_gru_loop(layer, X, H)),
            (torch.randn(37, 4, 28), torch.randn(4, 6)), layer.parameters())
with torch.no_grad():
    Xs = torch.randn(5, 4, 28)
    torch.testing.assert_close(layer(Xs)[0],
                               min_gru_loop(layer, Xs, torch.zeros(4, 6)))
    assert torch.equal(layer(Xs)[0][-1], layer(Xs)[1])

# %% [markdown]
# A gate that sees the input can still choose what to keep.
# In the harder recall task of [Section 10.1](01-lstm.ipynb) a symbol is followed by $T$ random ones; let the last input be a mark that says "ignore this one".
# A minGRU solves it by hand, with an update gate near 1 at marked symbols and near 0 at the first.
# A gate that is the same at all symbols gives the first the least weight of all; the four tried here recall about as much as guesses do, one in eight.

# %%
# check: a gate that heeds the mark remembers over 1000 steps, others fail
X, y = recall_task(64, T=1000, num_symbols=8, distract=True,
                   generator=torch.Generator().manual_seed(0))
X[1:, :, -1] = 1  # the mark
chooser, right = MinGRU(9, 8), []
with torch.no_grad():
    chooser.candidate.weight.copy_(torch.eye(8, 9))
    for layer in (chooser.gate, chooser.candidate):
        layer.bias.zero_()
    for symbol, mark in ((-20, 40), (0, 0), (3, 0), (6, 0), (9, 0)):
        chooser.gate.weight.copy_(
            torch.tensor([symbol] * 8 + [mark]).expand(8, 9))
        recalled = chooser(X)[1].argmax(dim=1)
        right.append((recalled == y).float().mean().item())
print("share recalled:", [round(share, 2) for share in right])
assert right[0] == 1 and max(right[1:]) < 0.3

# %% [markdown]
# There is a price.
# Let two states $\mathbf{H}_0,\mathbf{H}_0'$ of one unit read the same inputs.
# By (10.2.5) their difference is multiplied by $\mathbf{Z}_t>0$ in each step, so it never changes sign.
# Parity ([Section 9.4](../09-recurrent-neural-networks/04-recurrent-neural-networks.ipynb)) asks for exactly such a change: after a further 1, "even" and "odd" must change places.
# No unit of a single such layer can keep the parity above and below a threshold; a GRU's unit is not bound in this way.
# What is missing is the sign, not the loop: with a factor $1-2x_t$ in the place of the gate, a first state of 1 and no drive, the sign of the same scan's state is the parity.
# Sarrof, Veitsman and Hahn (2024) proved that state-space models with factors that are not negative cannot recognize parity at all lengths in finite precision.
# Grazzi and others (2025) extended this to matrices with only positive eigenvalues, and trained models with eigenvalues in $[-1,1]$ that solve parity.

# %%
# check: a minGRU keeps the order of two states, a GRU need not
torch.manual_seed(4)
flips = []
for cell in (MinGRU(4, 8), GRUScratch(4, 8, sigma=3)):
    Xs, low, up = torch.randn(12, 50, 4), torch.randn(50, 8), torch.rand(50, 8)
    with torch.no_grad():
        apart = cell(Xs, low + up)[0] - cell(Xs, low)[0]
    flips.append((apart < -1e-6).float().mean().item())
print(f"order reversed: minGRU {flips[0]:.2f}, GRU {flips[1]:.2f}")
assert flips[0] == 0 and flips[1] > 0.1
x = torch.randint(2, (1000,))
sign = linear_scan(1.0 - 2 * x, F.pad(1.0 - 2 * x[:1], (0, 999)))
assert torch.equal(sign < 0, x.cumsum(dim=0) % 2 == 1)

# %% [markdown]
# ## A selective scan
#
# The state-space layers of Mamba (Gu and Dao, 2023) are of the same kind, with a larger state.
# Each of $d$ channels $u_t$ has $N$ states, collected in $\mathbf{h}_t\in\mathbb{R}^{d\times N}$ for one sequence; they are driven through an input projection $\mathbf{B}_t$ and read through an output projection $\mathbf{C}_t$, both vectors in $\mathbb{R}^N$ that depend on the input:
#
# $$\mathbf{h}_t=\mathbf{a}_t\odot\mathbf{h}_{t-1}+(1-\mathbf{a}_t)\odot(\mathbf{u}_t\mathbf{B}_t^\top),\qquad \mathbf{y}_t=\mathbf{h}_t\mathbf{C}_t,\qquad \mathbf{a}_t=\exp(-\boldsymbol\Delta_t\boldsymbol\lambda). \tag{10.2.6}$$
#
# Here $\mathbf{u}_t,\mathbf{y}_t\in\mathbb{R}^d$ are input and output, $\boldsymbol\Delta_t=\log(1+e^{\mathbf{W}\mathbf{u}_t+\mathbf{b}})\in\mathbb{R}^d$ is the *step size*, positive and chosen by the input, with $\mathbf{W}\in\mathbb{R}^{d\times d}$, and $\boldsymbol\lambda\in\mathbb{R}^{d\times N}$ holds positive decay rates; $\boldsymbol\Delta_t\boldsymbol\lambda$ multiplies row $i$ of $\boldsymbol\lambda$ by entry $i$ of $\boldsymbol\Delta_t$.
# A small step keeps the state, a large one overwrites it.
# A rate $\lambda=1$ with $\Delta=\log2$ gives $a=\frac12$.
# The factor $1-\mathbf{a}_t$ comes from solving $\mathrm{d}h/\mathrm{d}t=-\lambda h+\lambda Bu$ exactly over a time $\Delta$; Mamba has no $\lambda$ in front of $B$, and its blocks add a convolution, a gate and a skip connection.

# %%
class SelectiveScan(nn.Module):
    """Selective states: `num_states` for each of `num_channels`."""

    def __init__(self, num_channels, num_states):
        super().__init__()
        rates = torch.arange(1.0, num_states + 1)
        self.log_rate = nn.Parameter(  # (d, N)
            rates.log().repeat(num_channels, 1))
        self.delta = nn.Linear(num_channels, num_channels)
        self.B = nn.Linear(num_channels, num_states)
        self.C = nn.Linear(num_channels, num_states)

    def coefficients(self, U):
        """Decay and drive (..., d, N) of inputs (..., d)."""
        delta = F.softplus(self.delta(U))[..., None]  # (..., d, 1)
        a = torch.exp(-delta * self.log_rate.exp())
        return a, (1 - a) * U[..., None] * self.B(U)[..., None, :]

    def forward(self, inputs):
        """Outputs (T, n, d) for inputs (T, n, d)."""
        states = linear_scan(*self.coefficients(inputs))  # (T, n, d, N)
        return (states * self.C(inputs)[..., None, :]).sum(dim=-1)

# %%
# check: the scan equals its loop; one state per channel is a minGRU
def selective_loop(layer, inputs):
    """Equation (10.2.6), step by step."""
    h, outputs, rates = 0.0, [], layer.log_rate.exp()
    for U in inputs:
        delta = (1 + layer.delta(U).exp()).log()  # (n, d)
        a = torch.exp(-delta[..., None] * rates)  # (n, d, N)
        drive = torch.einsum("nd,nk->ndk", U, layer.B(U))
        h = a * h + (1 - a) * drive
        outputs.append(torch.einsum("ndk,nk->nd", h, layer.C(U)))
    return torch.stack(outputs)


torch.manual_seed(5)
layer = SelectiveScan(5, 3)
assert_same((layer, lambda U: selective_loop(layer, U)),
            (torch.randn(37, 4, 5),), layer.parameters())
one, twin = SelectiveScan(5, 1), MinGRU(5, 5)
with torch.no_grad():
    for projection in (one.B, one.C):
        projection.weight.zero_()
        projection.bias.fill_(1)
    twin.gate.weight.copy_(-one.delta.weight)
    twin.gate.bias.copy_(-one.delta.bias)
    twin.candidate.weight.copy_(torch.eye(5))
    twin.candidate.bias.zero_()
    U = torch.randn(37, 4, 5)
    torch.testing.assert_close(one(U), twin(U)[0], rtol=0, atol=1e-5)
    a, _ = layer.coefficients(U)
    torch.testing.assert_close(a[..., 2], a[..., 0]**3)
    assert 0 < a.min() and a.max() < 1

# %% [markdown]
# The twin is worth a second look.
# For one state per channel, $\lambda=1$ and $\mathbf{B}=\mathbf{C}=1$ the decay is $e^{-\log(1+e^s)}=\sigma(-s)$: a state-space layer of this size *is* a gated unit, as Gu and Dao point out, and a small step size is an update gate near 1.
#
# ## A fair comparison
#
# Four cells enter the same model, with widths such that *all* parameters together, output layer included, agree within 1.5 %.
# Each weight is used in one multiplication per character, so the multiplications in matrix products agree nearly as well; elementwise work and speed do not.
# All take 200 steps of 32 windows, the same for all cells with equal seed.
# Adam's rate comes from the grid 0.01, 0.03, 0.1, extended to 0.3 if its largest rate is the best, and is chosen by the *training* loss of seed 0 in the last 50 steps.
# We check that the validation loss would have chosen the same rate, except for the LSTM, whose spread between seeds is too large for such a check.

# %%
cells = {"RNN": lambda: RNN(V, 59), "LSTM": lambda: LSTM(V, 27),
         "GRU": lambda: GRU(V, 32), "minGRU": lambda: MinGRU(V, 80)}
pool = Pool(32, steps=50, num_train=cut - 32)


def run(make_cell, rate, seed):
    """The history of one training."""
    torch.manual_seed(seed)
    return fit_clipped(
        RNNLM(make_cell(), V), pool, compare_epochs, seed=seed,
        optimizer=lambda params: torch.optim.Adam(params, rate),
        num_gpus=num_gpus)


def tune(make_cell, rates=(0.01, 0.03, 0.1)):
    """The rate of lowest training loss, and all runs by rate."""
    def final(rate):
        return runs[rate]["train_loss"][-1]

    runs = {rate: run(make_cell, rate, seed=0) for rate in rates}
    best = min(runs, key=final)
    if best == max(rates):  # the grid was too short
        runs[3 * best] = run(make_cell, 3 * best, seed=0)
    return min(runs, key=final), runs

# %% tags=["rtol=0.1"]
tuned = {name: tune(cell) for name, cell in cells.items()}
chosen = {name: rate for name, (rate, _) in tuned.items()}
paths = {name: torch.tensor(
    [runs[rate]["val_loss"]] + [run(cells[name], rate, seed)["val_loss"]
                                for seed in range(1, num_seeds)]).exp()
         for name, (rate, runs) in tuned.items()}  # (seeds, epochs)
for name, path in paths.items():
    size = count_params(RNNLM(cells[name](), V))
    print(f"{name}: {size} parameters, rate {chosen[name]:.2g}, perplexity",
          ", ".join(f"{p:.2f}" for p in path[:, -1].tolist()))

# %%
# check 10.2-C6: what holds in all seeds, with a margin
total = [count_params(RNNLM(cell(), V)) for cell in cells.values()]
assert max(total) < 1.015 * min(total) or not real
final = {name: path[:, -1] for name, path in paths.items()}
assert {path.shape for path in paths.values()} == {
    (num_seeds, compare_epochs)}
assert pool.num_train + pool.num_steps == cut
assert pool.generator.initial_seed() == num_seeds - 1  # of the last run
for rate, runs in tuned.values():
    assert rate == min(runs, key=lambda r: runs[r]["train_loss"][-1])
again = run(cells["RNN"], chosen["RNN"], seed=1)  # the seed alone decides
torch.testing.assert_close(torch.tensor(again["val_loss"]).exp(),
                           paths["RNN"][1], rtol=1e-3, atol=0)
if full_run and real:
    for name, (rate, runs) in tuned.items():
        assert min(runs) < rate < max(runs)
        assert name == "LSTM" or rate == min(
            runs, key=lambda r: runs[r]["val_loss"][-1])
        assert paths[name][:, 1].max() < bigram
    assert (final["GRU"] - trigram).abs().max() < 0.25
    assert final["RNN"].min() > final["GRU"].max() + 0.2
    assert final["minGRU"].min() > final["GRU"].max() + 0.5
    assert final["minGRU"].min() > 0.1 + max(
        final[name].max() for name in ("RNN", "LSTM"))
    assert final["LSTM"].mean() > final["GRU"].mean() + 0.05

# %% tags=["rtol=0.1", "hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.6))
steps_run = pool.steps * torch.arange(1, compare_epochs + 1)
for (name, path), style in zip(paths.items(), ("C0-", "C1--", "C2-.", "C3:")):
    for seed, curve in enumerate(path):
        ax.plot(steps_run, curve, style, marker="o", ms=3, lw=1.4,
                label=name if seed == 0 else None)
for name, p in (("bigram", bigram), ("trigram", trigram)):
    ax.axhline(p, color="#777777", lw=0.8, ls=":")
    ax.text(steps_run[-1] + 3, p, name, fontsize=8, color="#555555",
            va="bottom")
ax.set(xlabel="steps", ylabel="validation perplexity", yscale="log")
ax.set_yticks([6, 7, 8, 9, 10], labels=[6, 7, 8, 9, 10])
ax.minorticks_off()
ax.legend()
d2l.describe(ax, """Validation perplexity against steps for four cells, three
    runs each. All fall below the bigram line within 100 steps. After 200
    steps the minimal GRU is highest, and the GRU is near the trigram.""")

# %% [markdown]
# **Figure 10.2.5.** Four cells at equal parameters and steps, each at its own rate, three seeds.
#
# In this setting the GRU ends at a lower perplexity than the RNN and the minGRU in all three seeds, near the level of the trigram table.
# It is also ahead of the LSTM on average, but one start of the forget gate ([Section 10.1](01-lstm.ipynb)), one size and a coarse grid of rates are too little to rank the two.
# The minGRU is the worst of the four here, as *one* layer.
# In language models such layers are stacked, with normalization and residual connections (Gu and Dao, 2023), and see far more text; Exercise 10.2-2 stacks two.
#
# ## Where it stands
#
# Feng and others report that minimal GRUs and LSTMs rival recent sequence models, Transformers among them, on the tasks that they tried.
# Larger models go the same way: the Gated DeltaNet of Yang, Kautz and Hatamizadeh (2024) adds a rule for targeted updates to Mamba-2's gates, and its authors report further gains from hybrids with attention.
# What these layers have kept of the GRU is a decay that is computed from the input; what they gave up, for training in parallel, is a gate that sees the memory.
#
# ## Summary
#
# - A GRU has one state and two gates: reset decides what the candidate sees of the past, update how much of the old state stays; its states never leave $[-1,1]$.
# - A plain RNN needs the reset gate at 1 *and* the update gate at 0.
# - `nn.GRU` resets after the matrix product; the other variant has matrices of the same shapes and gives other outputs.
# - At equal parameters and 200 steps the GRU was ahead of the RNN and of one layer of minGRU in all three seeds; it was ahead of the LSTM on average, in one setting that does not rank the two.
# - Gates that see only the input make the recurrence linear and a scan possible; as they are positive, they keep the order of any two states of a unit.
# - A selective scan with one state per channel, $\lambda=1$ and $\mathbf{B}=\mathbf{C}=1$ is a minGRU whose candidate is its input.

# %% [markdown]
# ## Exercises
#
# ### Exercise 10.2-1
#
# Output $t$ is to depend on input $t'\le t$ alone.
# Find values of the gates at each step that achieve this, whatever the weights.
# Are they the only ones?
# Test your answer with gates that you set by hand.

# %% [markdown]
# #### Solution 10.2-1

# %% [markdown]
# At step $t'$ the state takes the candidate, $\mathbf{Z}_{t'}=0$, and the candidate forgets the past, $\mathbf{R}_{t'}=0$.
# From then on nothing changes: $\mathbf{Z}_s=1$ for $t'<s\le t$, where the reset gates do not matter; nor does anything before $t'$.
# With a reset gate of 1 at $t'$ earlier inputs leak in, unless there is nothing to leak: if all earlier update gates are 1, the state is still the first one, and the gates at $t'$ are free, as long as $\mathbf{Z}_{t'}<1$.

# %%
class Scheduled(GRUScratch):
    """Gates follow the lists `resets` and `updates`, one entry a step."""

    def gates(self, X, H):
        return next(self.resets), next(self.updates)


def reaches(layer, resets, updates, Xs):
    """Which inputs each output depends on: (T, T), bool."""
    layer.resets, layer.updates = iter(resets), iter(updates)
    return influence(lambda Xs: layer(Xs)[0], Xs) > 0


torch.manual_seed(6)
layer, Xs = Scheduled(3, 4, sigma=0.5), torch.randn(8, 1, 3)
for source in range(8):
    updates = [0.5] * source + [0.0] + [1.0] * (7 - source)
    resets = [0.5] * source + [0.0] + [0.5] * (7 - source)
    depends = reaches(layer, resets, updates, Xs)
    only = torch.arange(8) == source
    assert (depends[source:] == only).all()
    leaky = reaches(layer, [1.0] * 8, updates, Xs)
    assert leaky[-1].sum() == source + 1
    updates = [1.0] * source + [0.5] + [1.0] * (7 - source)
    assert (reaches(layer, [1.0] * 8, updates, Xs)[source:] == only).all()

# %% [markdown]
# ### Exercise 10.2-2
#
# (a) Remove one gate of the GRU, the reset gate ($\mathbf{R}=1$) or the update gate ($\mathbf{Z}=0$), and compare at equal trained parameters, steps and rate.
# (b) Does a second layer of minGRU close the gap to the GRU at equal parameters? Does a wider single layer, whose recurrent part alone has the parameters of the GRU's?

# %% [markdown]
# #### Solution 10.2-2

# %% [markdown]
# A bias of $\pm1000$ fixes a gate and gives it zero gradient, so its weights stay as they are and do not count.
# Two answers surprise.
# Without the update gate the network is as good as the GRU here, within the spread of the seeds, while without the reset gate it is worse in all three.
# This is a result for 200 steps on windows of 32 characters, and says nothing about tasks with longer memory, such as that of [Section 10.1](01-lstm.ipynb).
# And neither a second layer nor 102 units close the gap of the minGRU within 200 steps: at least half a unit of perplexity is left in every run.
# Each arm has the rate of its base, except for the two layers, which are tuned like the cells above; they have neither normalization nor a residual connection.

# %%
def without(gate, num_hiddens=40):
    """A GRU whose reset gate is 1, or whose update gate is 0."""
    layer = GRU(V, num_hiddens)
    first, value = {"reset": (0, 1000.0),
                    "update": (num_hiddens, -1000.0)}[gate]
    with torch.no_grad():
        layer.rnn.bias_ih_l0[first:first + num_hiddens] = value
    return layer


class TwoMinGRUs(Module):
    """Two layers of MinGRU."""

    def __init__(self, num_inputs, num_hiddens):
        super().__init__()
        self.num_hiddens = num_hiddens
        self.first = MinGRU(num_inputs, num_hiddens)
        self.second = MinGRU(num_hiddens, num_hiddens)

    def forward(self, inputs, state=None):
        """Outputs (T, n, h) and the second layer's last state."""
        return self.second(self.first(inputs)[0])


arms = {"no reset gate": ("GRU", lambda: without("reset")),
        "no update gate": ("GRU", lambda: without("update")),
        "two layers": ("minGRU", lambda: TwoMinGRUs(V, 40)),
        "102 units": ("minGRU", lambda: MinGRU(V, 102))}
deep_rate, _ = tune(arms["two layers"][1])
for name, (base, make_cell) in arms.items():
    rate = deep_rate if name == "two layers" else chosen[base]
    final[name] = torch.tensor([
        run(make_cell, rate, seed)["val_loss"][-1]
        for seed in range(num_seeds)]).exp()

# %% tags=["rtol=0.1"]
for name in ("GRU", "no reset gate", "no update gate", "minGRU",
             "two layers", "102 units"):
    print(f"{name}:", ", ".join(f"{p:.2f}" for p in final[name].tolist()))
if full_run and real:
    assert final["no reset gate"].min() > final["GRU"].max()
    assert final["no reset gate"].mean() > final["GRU"].mean() + 0.1
    assert (final["no update gate"].mean() - final["GRU"].mean()).abs() < 0.1
    for name in ("two layers", "102 units"):
        assert final["GRU"].max() + 0.5 < final[name].min() < bigram

# %%
# check: the gate is fixed and idle; sizes are as equal as is claimed
Xs = torch.randn(6, 4, V)
for gate in ("reset", "update"):
    layer = without(gate).rnn
    layer(Xs)[0].square().sum().backward()
    moves = [W.any().item() for W in layer.weight_hh_l0.grad.split(40)]
    assert moves == [gate != "reset", gate != "update", True]
    trained = count_params(RNNLM(without(gate), V)) - count_params(layer) // 3
    assert abs(trained / total[2] - 1) < 0.02 or not real
two = TwoMinGRUs(V, 40)
assert (influence(lambda Xs: two(Xs)[0], Xs).diagonal() > 0).all()
assert abs(count_params(RNNLM(two, V)) / total[2] - 1) < 0.02 or not real
if real:
    assert count_params(MinGRU(V, 102)) == 5916 < count_params(GRU(V, 32))

# %% [markdown]
# ### Exercise 10.2-3
#
# Measure the time of a training step for the four cells of the comparison, and put it beside their perplexity.
# Which cell would you choose?

# %% [markdown]
# #### Solution 10.2-3

# %% [markdown]
# We time them with the clock of [Section 9.6](../09-recurrent-neural-networks/06-rnn-concise.ipynb): the cells take turns, and the fastest of several repetitions counts.
# The order in time belongs to the machine and the library: which of the layers has a fast kernel on your device can matter more than the number of gates, and `linear_scan` does more arithmetic than a loop to save rounds.
# If time is the scarce resource, compare at equal time, not at equal steps.

# %%
device = d2l.try_device(quiet=True) if num_gpus else torch.device("cpu")
models = [RNNLM(cell(), V).to(device) for cell in cells.values()]
batch = d2l.to_device((pool.X[:32], pool.Y[:32]), device)
seconds = torch.tensor([[time_step(model, batch) for model in models]
                        for _ in range(timing_reps)]).amin(dim=0)
assert seconds.shape == (4,) and (seconds > 0).all()

# %% tags=["timing"]
for name, s in zip(cells, seconds.tolist()):
    print(f"{name}: {1000 * s:.1f} ms a step, perplexity "
          f"{final[name].mean():.2f}")

# %% [markdown]
# ### Exercise 10.2-4
#
# Prove by induction that $|\mathbf{H}_t|\le\max(1,|\mathbf{H}_0|)$ for every unit.
# Can a unit of an LSTM's internal state, or of a minGRU, be bounded in the same way?

# %% [markdown]
# #### Solution 10.2-4

# %% [markdown]
# Let $M=\max(1,|H_0|)$; then $|H_0|\le M$.
# If $|H_{t-1}|\le M$, then with $0\le Z_t\le1$ and $|\tilde H_t|\le1\le M$
#
# $$|H_t|\le Z_t|H_{t-1}|+(1-Z_t)|\tilde H_t|\le Z_tM+(1-Z_t)M=M,$$
#
# where all symbols are the entries of one unit and sequence.
# The step uses the fact that the weights $Z_t$ and $1-Z_t$ sum to 1.
# In an LSTM $F_t$ and $I_t$ are free, and with both at 1 the internal state grows by up to 1 in each step.
# A minGRU has the weights but no tanh: its bound is the largest candidate, or the first state if that is larger, and candidates grow with the inputs.

# %%
torch.manual_seed(7)
with torch.no_grad():
    for start in (0.2, 1.0, 5.0):
        H_0 = start * (2 * torch.rand(64, 16) - 1)
        bound = H_0.abs().clamp(min=1)
        for scale in (1, 100):
            Xs = scale * torch.randn(30, 64, 8)
            states = GRUScratch(8, 16, sigma=2)(Xs, H_0)[0]
            assert (states.abs() <= bound * (1 + 1e-6)).all()
            small = MinGRU(8, 16)
            states = small(Xs, H_0)[0]
            largest = small.candidate(Xs).abs().amax(dim=0)  # (64, 16)
            assert (states.abs() <= torch.maximum(largest, H_0.abs())
                    * (1 + 1e-6)).all()
    assert states.abs().max() > 50

# %% [markdown]
# ### Exercise 10.2-5
#
# Write one step of the library's variant with exactly two matrix products, neither of which waits for the other, and count them.
# Why is this impossible for (10.2.2)?

# %% [markdown]
# #### Solution 10.2-5

# %% [markdown]
# Put the three matrices of the input side by side, $(d,3h)$, and those of the state, $(h,3h)$; split the results.
# The input's product can even be computed for all steps at once, before the loop.
# In (10.2.2) the candidate multiplies $\mathbf{R}_t\odot\mathbf{H}_{t-1}$, and $\mathbf{R}_t$ itself needs a product with $\mathbf{H}_{t-1}$: one product must wait for another.
# Two are still enough, of $[\mathbf{X}_t,\mathbf{H}_{t-1}]$ for both gates and of $[\mathbf{X}_t,\mathbf{R}_t\odot\mathbf{H}_{t-1}]$ for the candidate, but only one after the other.

# %%
def fused_step(layer, X, H):
    """A step of a GRUScratch with `reset_after`, in two products."""
    s = layer
    from_X = X @ torch.cat((s.W_xr, s.W_xz, s.W_xh), dim=1)  # (n, 3h)
    from_H = H @ torch.cat((s.W_hr, s.W_hz, s.W_hh), dim=1)  # (n, 3h)
    xr, xz, xh = from_X.chunk(3, dim=1)
    hr, hz, hh = from_H.chunk(3, dim=1)
    R = torch.sigmoid(xr + hr + s.b_r)
    Z = torch.sigmoid(xz + hz + s.b_z)
    H_tilde = torch.tanh(xh + s.b_h + R * (hh + s.b_hh))
    return Z * H + (1 - Z) * H_tilde


class CountProducts(TorchDispatchMode):
    """Counts the matrix products of two matrices inside a with block."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func is torch.ops.aten.mm.default
        return func(*args, **(kwargs or {}))


# %%
torch.manual_seed(8)
layer = GRUScratch(5, 7, sigma=0.5, reset_after=True)
for b in (layer.b_r, layer.b_z, layer.b_h, layer.b_hh):
    nn.init.normal_(b)
X, H = torch.randn(3, 5), torch.randn(3, 7)
with CountProducts() as fused:
    one = fused_step(layer, X, H)
with CountProducts() as plain:
    two = layer.step(X, H)
torch.testing.assert_close(one, two)
print("products:", fused.number, "and", plain.number)
assert (fused.number, plain.number) == (2, 6)
layer = GRUScratch(5, 7, sigma=0.5)  # resets before; its biases are zero
with CountProducts() as waiting:
    R, Z = (torch.cat((X, H), dim=1) @ torch.cat((
        torch.cat((layer.W_xr, layer.W_xz), dim=1),
        torch.cat((layer.W_hr, layer.W_hz), dim=1)))).sigmoid().chunk(2, 1)
    H_tilde = torch.tanh(torch.cat((X, R * H), dim=1)
                         @ torch.cat((layer.W_xh, layer.W_hh)))
torch.testing.assert_close(Z * H + (1 - Z) * H_tilde, layer.step(X, H))
assert waiting.number == 2

# %% [markdown]
# ## Sources
#
# - K. Cho and others, Learning phrase representations using RNN encoder-decoder for statistical machine translation, 2014, [arXiv:1406.1078](https://arxiv.org/abs/1406.1078): the unit; Keras documentation, [GRU](https://www.tensorflow.org/api_docs/python/tf/keras/layers/GRU): version 1 of that paper resets after the product, version 3 before.
# - J. Chung, C. Gulcehre, K. Cho and Y. Bengio, Empirical evaluation of gated recurrent neural networks on sequence modeling, 2014, [arXiv:1412.3555](https://arxiv.org/abs/1412.3555).
# - PyTorch documentation, [torch.nn.GRU](https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html): the equations of the library's variant.
# - E. Martin and C. Cundy, Parallelizing linear recurrent neural nets over sequence length, 2018, [arXiv:1709.04057](https://arxiv.org/abs/1709.04057).
# - D. Balduzzi and M. Ghifary, Strongly-typed recurrent neural networks, 2016, [arXiv:1602.02218](https://arxiv.org/abs/1602.02218).
# - L. Feng, F. Tung, M. O. Ahmed, Y. Bengio and H. Hajimirsadeghi, Were RNNs all we needed?, 2024, [arXiv:2410.01201](https://arxiv.org/abs/2410.01201).
# - R. Grazzi, J. Siems, A. Zela, J. K. H. Franke, F. Hutter and M. Pontil, Unlocking state-tracking in linear RNNs through negative eigenvalues, 2025, [arXiv:2411.12537](https://arxiv.org/abs/2411.12537).
# - Y. Sarrof, Y. Veitsman and M. Hahn, The expressive capacity of state space models: a formal language perspective, 2024, [arXiv:2405.17394](https://arxiv.org/abs/2405.17394).
# - A. Gu and T. Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023, [arXiv:2312.00752](https://arxiv.org/abs/2312.00752).
# - S. Yang, J. Kautz and A. Hatamizadeh, Gated Delta Networks: improving Mamba2 with delta rule, 2024, [arXiv:2412.06464](https://arxiv.org/abs/2412.06464).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
