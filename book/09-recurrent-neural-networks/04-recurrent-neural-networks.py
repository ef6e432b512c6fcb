# ---
# jupyter:
#   d2l:
#     data: [time-machine]
#     profiles:
#       gpu: {}
#       smoke:
#         train_steps: 5
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
# # 9.4 Recurrent neural networks
#
# A table of n-grams needs a row for every context, so its contexts stay short.
# A *recurrent neural network* (RNN) carries the past along in a vector of fixed size, which it updates at every step.
# What can such a vector remember, and what does it lose?
#
# **You will**
#
# - write the recurrent layer as one equation and one loop, and count its parameters;
# - test with gradients that a model does not look ahead, and know when this test is blind;
# - measure how long a state keeps a trace of one input, and see why the spectral radius alone does not answer this;
# - wire by hand a network of two units that remembers something no window can.
#
# **Cost**: about twenty seconds on a CPU, no use for a GPU; a download of 0.2 MB, once.

# %%
import math
from fractions import Fraction

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.recurrent_neural_networks import (TextData, ngrams,
                                                            read_text)

d2l.use_style()

# %% tags=["parameters"]
train_steps = 300  # of the small language model in Exercise 9.4-4

# %% [markdown]
# ## From a table to a state
#
# An n-gram model ([Section 9.3](03-language-models.ipynb)) predicts from the last $n-1$ tokens.
# With a vocabulary $\mathcal{V}$ its table has $|\mathcal{V}|^n$ entries, and the larger $n$, the smaller the share of them that a text fills.
#
# A *latent* model replaces the window by a summary of everything so far:
#
# $$P(x_t\mid x_{t-1},\dots,x_1)\approx P(x_t\mid h_{t-1}),\qquad h_t=f(x_t,h_{t-1}). \tag{9.4.1}$$
#
# Here $x_t$ is the token at step $t$, $h_t$ the *hidden state* after it, and $f$ one function for all steps.
# If $f$ may store whatever it likes, this is no approximation: $h_t=(h_{t-1},x_t)$ keeps the whole prefix, but then it grows and every step costs more than the last.
# A recurrent network fixes the size of $h_t$ and learns what to keep.
#
# ![Three columns for the steps t - 1, t and t + 1. In each the input X and the state of the column before enter a box that multiplies them by W_xh and W_hh, adds b_h and applies phi. The new state goes up through W_hq to the output O and right to the next column.](img/rnn-cell.svg)
#
# **Figure 9.4.1.** One layer at three adjacent steps.
# The recurrent edges (orange) lead from step to step; the weights are the same in every column.
#
# How fast does a table outgrow its text?
# We count the n-grams of *The Time Machine*, in characters.

# %%
data = TextData()
real = d2l.fetch("time-machine").source == "real"
corpus, vocab = data.build(read_text("time-machine"))  # corpus (T,)
orders = range(1, 8)
entries = [len(vocab) ** n for n in orders]
seen = [len(set(ngrams(corpus.tolist(), n))) for n in orders]


def count_rnn(d, h, q):
    """Parameters of a recurrent layer (d inputs, h units), q outputs."""
    return d * h + h * h + h + h * q + q


num_params = count_rnn(len(vocab), 32, len(vocab))
print(f"order 5: {entries[4]:,} entries, {seen[4]:,} of them seen; "
      f"32 recurrent units: {num_params:,} parameters")

# %% tags=["hide-input"]
ax = d2l.plot(orders, [entries, seen, [num_params] * 7],
              ["table entries", "distinct n-grams in the book",
               "parameters, 32 recurrent units"], fmts=("o-", "s--", ":"),
              xlabel="order $n$", ylabel="number", yscale="log")
d2l.describe(ax, """On a logarithmic scale the table entries rise along a
    straight line to above ten billion at order 7. The distinct n-grams
    flatten below 100 thousand. The parameters of 32 recurrent units are a
    horizontal line at about three thousand.""")

# %% [markdown]
# **Figure 9.4.2.** Every order multiplies the table by the size of the vocabulary, the book fills ever less of it, and the recurrent network has no order.
# Whether so few parameters also predict well is another question; [Section 9.5](05-rnn-scratch.ipynb) compares perplexities.

# %%
share = torch.tensor(seen) / torch.tensor(entries)
assert (share.diff() < 0).all() and share[0] > 0.9 and share[4] < 0.005
if real:
    assert entries[4] == 28**5 == 17_210_368 and num_params == 2876
    assert share[4] < 0.002

# %% [markdown]
# ## One step
#
# ### Without a state
#
# Recall the multilayer perceptron with one hidden layer.
# For a minibatch $\mathbf{X}\in\mathbb{R}^{n\times d}$ of $n$ examples with $d$ features it computes
#
# $$\mathbf{H}=\phi(\mathbf{X}\mathbf{W}_{xh}+\mathbf{b}_h),\qquad \mathbf{O}=\mathbf{H}\mathbf{W}_{hq}+\mathbf{b}_q, \tag{9.4.2}$$
#
# with $h$ hidden units and $q$ outputs: $\mathbf{W}_{xh}\in\mathbb{R}^{d\times h}$, $\mathbf{b}_h\in\mathbb{R}^{1\times h}$, $\mathbf{W}_{hq}\in\mathbb{R}^{h\times q}$, $\mathbf{b}_q\in\mathbb{R}^{1\times q}$.
# The activation $\phi$ works entry by entry.
# The examples are treated independently, so for text nothing would connect one character with the next.
#
# ### With a state
#
# The recurrent layer adds one term, the state of the step before:
#
# $$\mathbf{H}_t=\phi(\mathbf{X}_t\mathbf{W}_{xh}+\mathbf{H}_{t-1}\mathbf{W}_{hh}+\mathbf{b}_h),\qquad \mathbf{O}_t=\mathbf{H}_t\mathbf{W}_{hq}+\mathbf{b}_q. \tag{9.4.3}$$
#
# $\mathbf{X}_t\in\mathbb{R}^{n\times d}$ holds the inputs of step $t$ for $n$ sequences, $\mathbf{H}_t\in\mathbb{R}^{n\times h}$ their states, $\mathbf{O}_t\in\mathbb{R}^{n\times q}$ the outputs, and $\mathbf{W}_{hh}\in\mathbb{R}^{h\times h}$ are the new weights.
# $\phi$ is usually tanh, which keeps every state between $-1$ and 1, or ReLU.
# With one unit, $W_{xh}=1$, $W_{hh}=-2$ and no bias, the input 0.5 after the state 0.25 gives $\tanh(0.5-0.5)=0$.
#
# Two words that are easily confused: a hidden *layer* is hidden from view, between input and output; a hidden *state* is moreover an input to the next step.
# In (9.4.3) $\mathbf{H}_t$ is both.

# %% tags=["export"]
def rnn_step(X, H, W_xh, W_hh, b_h, phi=torch.tanh):
    """One step: the new state (n, h) from inputs X (n, d) and state H."""
    return phi(X @ W_xh + H @ W_hh + b_h)

# %%
one = torch.ones(1, 1)
new = rnn_step(0.5 * one, 0.25 * one, one, -2 * one, torch.zeros(1))
assert new.item() == 0
assert rnn_step(-one, one, one, one, -one, phi=F.relu).item() == 0
assert rnn_step(one, one, one, one, one, phi=F.relu).item() == 3

# %% [markdown]
# The two products can be written as one.
# Put $\mathbf{X}_t$ and $\mathbf{H}_{t-1}$ side by side and the weights one above the other:
#
# $$\mathbf{X}_t\mathbf{W}_{xh}+\mathbf{H}_{t-1}\mathbf{W}_{hh}=[\mathbf{X}_t,\mathbf{H}_{t-1}]\begin{bmatrix}\mathbf{W}_{xh}\\\mathbf{W}_{hh}\end{bmatrix}, \tag{9.4.4}$$
#
# where the brackets have the shapes $n\times(d+h)$ and $(d+h)\times h$.
# So a recurrent step is one fully connected layer whose input includes its own last output.

# %%
# check 9.4-C1: (3, 1) @ (1, 4) + (3, 4) @ (4, 4) is (3, 5) @ (5, 4)
rng = torch.Generator().manual_seed(94)
X, W_xh, H, W_hh = (torch.randn(shape, generator=rng)
                    for shape in ((3, 1), (1, 4), (3, 4), (4, 4)))
joint = torch.cat((X, H), dim=1) @ torch.cat((W_xh, W_hh), dim=0)
torch.testing.assert_close(X @ W_xh + H @ W_hh, joint, rtol=0, atol=1e-6)
torch.testing.assert_close(
    rnn_step(X, H, W_xh, W_hh, torch.zeros(4)), joint.tanh())

# %% [markdown]
# ### All steps
#
# The layer is a loop over time.
# Inputs are *time-major*, $(T,n,d)$, so `for X in Xs` yields one step for all sequences of the batch.

# %% tags=["export"]
def rnn_forward(Xs, H, params, phi=torch.tanh):
    """The states (T, n, h) after each of the inputs Xs (T, n, d).

    `H` (n, h) is the state before the first step and `params` the triple
    (W_xh, W_hh, b_h).
    """
    states = []
    for X in Xs:
        H = rnn_step(X, H, *params, phi=phi)
        states.append(H)
    return torch.stack(states)

# %% [markdown]
# For experiments we need random networks whose recurrent weights are controlled by one number.
# The *spectral radius* of a square matrix is the largest absolute value of its eigenvalues; the function below scales a Gaussian matrix to a given one.

# %%
def random_rnn(d, h, radius, seed=0):
    """W_xh (d, h), W_hh (h, h) of this spectral radius, and b_h = 0.

    In double precision; another radius only rescales W_hh.
    """
    rng = torch.Generator().manual_seed(seed)
    W_xh, W_hh = (torch.randn(k, h, generator=rng, dtype=torch.float64)
                  for k in (d, h))
    largest = torch.linalg.eigvals(W_hh).abs().max()
    return W_xh, radius * W_hh / largest, torch.zeros_like(W_hh[0])


Xs = torch.randn(10, 2, 3, generator=rng, dtype=torch.float64)  # (T, n, d)
H0 = torch.randn(2, 5, generator=rng, dtype=torch.float64)
params = random_rnn(d=3, h=5, radius=0.9)
Hs = rnn_forward(Xs, H0, params)
print("inputs", tuple(Xs.shape), "-> states", tuple(Hs.shape))
assert Hs.shape == (10, 2, 5)
eigenvalues = torch.linalg.eigvals(params[1])
assert abs(eigenvalues.abs().max() - 0.9) < 1e-9
assert (params[2] == 0).all()
assert not torch.equal(random_rnn(3, 5, 0.9, seed=1)[1], params[1])

# %%
# check 9.4-C2: 2876 parameters for sequences of any length
net = (*random_rnn(28, 32, radius=0.9), torch.zeros(32, 28), torch.zeros(28))
assert sum(p.numel() for p in net) == count_rnn(28, 32, 28) == 2876
for T in (1, 7, 100):
    states = rnn_forward(torch.zeros(T, 3, 28).double(),
                         torch.zeros(3, 32).double(), net[:3])
    assert states.shape == (T, 3, 32)

# %% [markdown]
# Two properties follow from the loop.
# With $\mathbf{W}_{hh}=0$ the steps are independent: the layer is the perceptron (9.4.2), applied to each step.
# And the state is *all* that passes from one step to the next, so we may stop after six steps, keep the state, and go on later.

# %%
# check 9.4-C4: without recurrent weights each step is a perceptron
W_xh, W_hh, _ = params
b_h = torch.linspace(-1, 1, 5, dtype=torch.float64)
mlp = torch.tanh(Xs @ W_xh + b_h)  # all steps at once
cut = rnn_forward(Xs, H0, (W_xh, 0 * W_hh, b_h))
torch.testing.assert_close(cut, mlp)
assert (rnn_forward(Xs, H0, (W_xh, W_hh, b_h)) - mlp).abs().max() > 0.1

# %%
# check 9.4-C7: ten steps equal six and then four with the carried state
first = rnn_forward(Xs[:6], H0, params)
rest = rnn_forward(Xs[6:], first[-1], params)
torch.testing.assert_close(torch.cat((first, rest)), Hs)
forgetful = rnn_forward(Xs[6:], H0, params)
assert (forgetful - rest).abs().max() > 0.1

# %% [markdown]
# ## No looking ahead
#
# A model that predicts the next token must not see it.
# A slip of one index is enough to leak it, and so is a statistic taken over the whole sequence; the loss can then be lower than the model deserves.
# The recurrent loop cannot look ahead by construction; the models of later chapters have to be tested.
#
# Gradients provide a test: if output $t$ ignores input $s$, its derivative with respect to that input is zero.
# So a derivative other than zero proves a leak, while zeros at random inputs are strong evidence that there is none.

# %% tags=["export"]
def influence(f, Xs):
    """How much output t depends on input s: a matrix (T, T).

    `f` maps inputs Xs (T, n, d) to outputs (T, n, q). Row t, column s is
    the norm of the gradient of the sum of output t with respect to input s.
    A value above the diagonal proves that an output sees a later input.
    Zeros speak against it, except for outputs of constant sum, like those
    of a softmax, activations of slope zero, and detached values.
    """
    Xs = Xs.detach().requires_grad_()
    rows = [torch.autograd.grad(out.sum(), Xs, retain_graph=True)[0]
            for out in f(Xs)]
    return torch.stack(rows).flatten(2).norm(dim=2)

# %% [markdown]
# We test the recurrent layer, and the same layer after a step that looks innocent: inputs are centred by their mean over time.

# %%
params = random_rnn(d=3, h=16, radius=0.9)
W_hq = torch.randn(16, 2, generator=rng, dtype=torch.float64)
zeros = torch.zeros(2, 16, dtype=torch.float64)


def outputs(Xs):
    return rnn_forward(Xs, zeros, params) @ W_hq  # (T, n, q)


def centred(Xs):
    return outputs(Xs - Xs.mean(dim=0))


honest, leaky = influence(outputs, Xs), influence(centred, Xs)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6.6, 3.2), layout="constrained")
for ax, matrix, name in zip(axes, (honest, leaky),
                            ("recurrent layer", "inputs centred over time")):
    shown = matrix.log10().masked_fill(matrix == 0, torch.nan)
    image = ax.imshow(shown, vmin=-4, vmax=1)
    ax.set(title=name, xlabel="input $s$", xticks=range(0, 10, 3),
           yticks=range(0, 10, 3))
    ax.grid(visible=False)
axes[0].set_ylabel("output $t$")
fig.colorbar(image, ax=axes, label="log10 of the influence")
d2l.describe(axes, """Two matrices. Left, for the recurrent layer, only the
    diagonal and the places below it are coloured, and colours fade away from
    the diagonal. Right, with centred inputs, all places are coloured.""")

# %% [markdown]
# **Figure 9.4.3.** Influence of input $s$ on output $t$; white is exactly zero.
# Left, a lower triangle that on average fades with distance; right, every output sees every input, the future included.

# %%
# check 9.4-C3: the output of step 3 ignores step 4 and remembers step 1
later = torch.ones(10, 10).triu(1).bool()
assert honest[2, 3] == 0 and honest[2, 0] > 1e-3
assert (honest[later] == 0).all() and (honest[~later] > 0).all()
assert (leaky[later] > 1e-3).all()
fades = torch.stack([honest.diagonal(-lag).mean() for lag in range(10)])
assert (fades.diff() < 0).all() and fades[9] < 1e-3 * fades[0]

# %% [markdown]
# The test has blind spots.
# It adds the entries of an output, and what cancels in the sum is lost: probabilities always add up to 1, so apply it to scores before the softmax.
# An activation with slope zero hides everything; below we meet a network that remembers perfectly and shows no influence.
# And a value that has been detached from the graph, as statistics sometimes are, can leak the future unseen.
# A second test needs no gradients: change the later inputs and compare the earlier outputs.

# %%
def sly(Xs):
    return outputs(Xs - Xs.mean(dim=0).detach())


changed = Xs.clone()
changed[5:] += 1  # outputs 0 to 4 must stay the same
print("largest influence of a later input:",
      influence(sly, Xs)[later].max().item())
print("largest change of earlier outputs, leaky and honest:",
      *(f"{(f(changed) - f(Xs))[:5].abs().max():.1f}"
        for f in (sly, outputs)), sep="  ")
assert (influence(sly, Xs)[later] == 0).all()
assert (sly(changed) - sly(Xs))[:5].abs().max() > 0.1
assert torch.equal(outputs(changed)[:5], outputs(Xs)[:5])

# %% tags=["hide-input"]
# check: the closed form for linear units, the blind spot, the promises
linear = influence(lambda Xs: rnn_forward(Xs, zeros, params,
                                          phi=lambda Z: Z), Xs)
W_xh, W_hh, _ = params
for t in range(10):
    for s in range(t + 1):  # the same gradient for both sequences
        slope = (W_xh @ torch.linalg.matrix_power(W_hh, t - s)).sum(dim=1)
        torch.testing.assert_close(linear[t, s], 2**0.5 * slope.norm())
hidden = influence(lambda Xs: outputs(Xs).softmax(dim=2), Xs)
assert hidden.max() < 1e-12 < honest[9, 9]
assert not Xs.requires_grad and not honest.requires_grad

# %% [markdown]
# ## A character model
#
# A language model uses this layer as follows.
# Inputs are the tokens as one-hot vectors, outputs one score per token of the vocabulary, and the target of each step is the next input.
# The word "machine" gives the inputs `machin` and the targets `achine`.
#
# ![Six columns. At the bottom the inputs m, a, c, h, i, n, above them the states H1 to H6 with arrows from each to the next, then the outputs O1 to O6, a loss box over each, and on top the targets a, c, h, i, n, e.](img/rnn-machine.svg)
#
# **Figure 9.4.4.** Every step has its own loss.
# At step 3 the prediction depends on m, a and c, and the target is h.

# %%
# check 9.4-C5: the targets are the inputs, shifted by one
word = "machine"
inputs, targets = word[:-1], word[1:]
assert (inputs, targets) == ("machin", "achine")
X = torch.tensor(vocab[list(inputs)])[:, None]  # (T, n), n = 1
Y = torch.tensor(vocab[list(targets)])[:, None]
assert torch.equal(X[1:], Y[:-1])
assert "".join(vocab.to_tokens(X[:, 0])) == "machin"

# %% [markdown]
# Each step is a classification over the vocabulary: a softmax turns the scores into probabilities, and the loss is the cross-entropy of the target.
# The loss of the sequence is the mean over its steps.
# We take random recurrent weights and near-zero output weights.

# %%
d, h = len(vocab), 32
params = random_rnn(d, h, radius=0.9)
W_hq = 0.01 * torch.randn(h, d, generator=rng, dtype=torch.float64)


def scores(Xs):
    """Scores (T, n, d) for one-hot inputs Xs (T, n, d)."""
    return rnn_forward(Xs, Xs.new_zeros(Xs.shape[1], h), params) @ W_hq


Xs = F.one_hot(X, d).double()  # (6, 1, d)
S = scores(Xs)
losses = F.cross_entropy(S[:, 0], Y[:, 0], reduction="none")  # (6,)
for x, y, loss in zip(inputs, targets, losses.tolist()):
    print(f"{x} -> {y}: loss {loss:.3f}")

# %%
by_hand = -S[2, 0].softmax(dim=0)[vocab["h"]].log()  # step 3 wants h
torch.testing.assert_close(losses[2], by_hand)
assert abs(losses.mean() - math.log(d)) < 0.1  # close to a uniform guess
third = influence(scores, Xs)[2]
assert (third[:3] > 0).all() and (third[3:] == 0).all()  # m, a, c

# %% [markdown]
# Untrained, the model guesses: its loss is close to $\log|\mathcal{V}|$, that of a uniform distribution.
# [Section 9.5](05-rnn-scratch.ipynb) trains it.
#
# Elman published such networks in 1990, developing a proposal of Jordan from 1986; his simulations included predicting letters and words.
# Bengio and others described a neural language model in 2003 that still read a window of fixed length, and Mikolov and others put a recurrent network in its place in 2010: a mixture of several had about half the perplexity of the back-off n-gram model it was compared with.

# %% [markdown]
# ## What a state remembers
#
# ### States over a sentence
#
# Feed the beginning of the book to the random network, one character at a time, and look at the states.

# %%
with torch.no_grad():
    book = F.one_hot(corpus[:3000, None], d).double()  # (T, 1, d)
    H0 = torch.zeros(1, h, dtype=torch.float64)
    states = rnn_forward(book, H0, params)[:, 0]  # (T, h)


def letter_share(states):
    """Share of the variance of states (T, h) that the letter explains."""
    letters = F.one_hot(corpus[:len(states)], d).double()  # (T, d)
    counts = letters.sum(dim=0).clamp(min=1)
    means = (letters.mT @ states) / counts[:, None]  # (d, h)
    within = (states - letters @ means).square().sum()
    return 1 - within / (states - states.mean(dim=0)).square().sum()

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.4, 2.6))
text = vocab.to_tokens(corpus[:36])
image = ax.imshow(states[:36, :12].T, cmap="RdBu", vmin=-1, vmax=1,
                  aspect="auto")
ax.set_xticks(range(36), ["·" if c == " " else c for c in text])
ax.set(xlabel="character just read", ylabel="unit",
       yticks=range(0, 12, 2))
ax.grid(visible=False)
fig.colorbar(image, label="state")
d2l.describe(ax, f"""States of 12 units in blue and red over the text
    "{''.join(text)}". Columns of the same letter look alike, but no two
    columns are equal.""")

# %% [markdown]
# **Figure 9.4.5.** Twelve of the 32 states of a random network with spectral radius 0.9 over the beginning of the text (a dot is a space).
# Columns of the same letter resemble each other, and differ according to what came before.

# %%
shares = {}
for radius in (0, 0.5, 0.9):
    nets = [random_rnn(d, h, radius, seed) for seed in range(3)]
    shares[radius] = [letter_share(rnn_forward(book, H0, net)[:, 0]).item()
                      for net in nets]
    print(f"spectral radius {radius}: the letter explains",
          *(f"{share:.2f}" for share in shares[radius]))
assert min(shares[0]) > 1 - 1e-9
assert abs(letter_share(states + 1) - letter_share(states)) < 1e-9
assert max(shares[0.9]) < min(shares[0.5]) < max(shares[0.5]) < 0.95
assert 0.4 < min(shares[0.9]) < max(shares[0.9]) < 0.8
after_e = states[(corpus[:3000] == vocab["e"]).nonzero()[:3, 0]]
print("distances of the states after the first three e:",
      *(f"{value:.1f}" for value in F.pdist(after_e).tolist()))
assert F.pdist(after_e).min() > 0.1 and F.pdist(states[:36]).min() > 1e-6
apart = torch.cdist(states[:36, :12], states[:36, :12])  # as in the figure
same = corpus[:36, None] == corpus[:36]
assert apart[same].sum() / (same.sum() - 36) < 0.6 * apart[~same].mean()

# %% [markdown]
# Without recurrent weights the current letter explains the state entirely.
# With them, part of it is about the past: in three random networks the share of the letter falls as the spectral radius grows from 0 to 0.5 and to 0.9.
#
# ### How long an impulse survives
#
# How far back does the past reach?
# Run a network twice, with inputs that differ only at the first step, by 1, and follow the distance between the two states.
# If $\phi$ is the identity, the difference of the states obeys (9.4.3) without its input, so after $t$ steps it has been multiplied by $\mathbf{W}_{hh}^t$.
# For almost every impulse this grows or shrinks, in the long run, like $\rho^t$, where $\rho$ is the spectral radius, and the inputs that both runs share do not matter.
# With tanh they do.

# %%
def distance(radius, sound, T=100, phi=torch.tanh, seed=0):
    """Distances (T,) of two runs whose first inputs differ by 1.

    Both runs share `sound` times standard normal inputs, another noise for
    every seed; relative to the first distance.
    """
    noise = torch.randn(2000, 1, 1, dtype=torch.float64,
                        generator=torch.Generator().manual_seed(seed))
    Xs = (sound * noise[:T]).repeat(1, 2, 1)  # two sequences
    Xs[0, 1] += 1
    start = torch.zeros(2, 64, dtype=torch.float64)
    params = random_rnn(1, 64, radius, seed)
    runs = rnn_forward(Xs, start, params, phi)  # (T, 2, 64)
    gap = (runs[:, 1] - runs[:, 0]).norm(dim=1)
    return gap / gap[0]

# %%
radii = [0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 2.0, 3.0]
fading = {(radius, kind): distance(radius, sound) for radius in radii
          for kind, sound in (("noise", 1), ("silence", 0))}
print("left after 30 steps, for each spectral radius")
for kind in ("silence", "noise"):
    print(kind, *(f"{radius:g}: {fading[radius, kind][30]:.0e}"
                  for radius in radii), sep="  ")

# %% tags=["hide-input"]
def draw(fig, radius, inputs):
    ax = fig.subplots()
    for other in radii:
        ax.plot(fading[other, inputs], color="#cccccc", linewidth=1)
    ax.plot(fading[radius, inputs], color="C0", label="tanh")
    t = torch.arange(100)
    ax.plot(t, torch.tensor(radius) ** t, "k--", linewidth=1.2,
            label=f"$\\rho^t$, $\\rho={radius:g}$")
    ax.set(xlabel="steps after the impulse", ylabel="relative distance",
           yscale="log", ylim=(1e-8, 1e2), xlim=(0, 99))
    ax.legend(loc="upper right")


d2l.sliders(draw, """Distance of two runs on a logarithmic scale over 100
    steps, for ten spectral radii, one of them highlighted beside the line
    rho to the power t. In silence the curves fall more slowly the larger the
    radius, and above 1 they stay high. With noise all fall steeply except
    those for radii 2 and 3.""",
            figsize=(5.6, 3.2), radius=radii, inputs=["noise", "silence"])

# %% [markdown]
# **Figure 9.4.6.** What is left of an impulse, for one random network of 64 tanh units at ten scales of $\mathbf{W}_{hh}$ (grey: the other scales).
# "Silence" means zero inputs after the impulse, "noise" the same standard normal inputs for both runs.

# %%
first, again, _ = random_rnn(1, 64, 0.9)
first = first.tanh()  # in silence the other run stays at zero
one_step = (first @ again).tanh().norm() / first.norm()
assert abs(fading[0.9, "silence"][1] - one_step) < 1e-9
for seed in range(3):  # linear: the rate is the radius, inputs or not
    for radius in (0.9, 1.1):
        quiet, loud = (distance(radius, sound, 200, phi=lambda Z: Z,
                                seed=seed) for sound in (0, 1))
        torch.testing.assert_close(quiet, loud, rtol=1e-3, atol=1e-9)
        rate = (quiet[199] / quiet[99]) ** 0.01
        assert abs(rate / radius - 1) < 0.02
    for radius in radii:  # tanh
        quiet, loud = (distance(radius, sound, seed=seed)
                       for sound in (0, 1))
        assert (quiet[60:].min() > 0.05) == (radius > 1)
        assert radius > 0.9 or quiet[60:].max() < 1e-3
        assert (loud[40:].max() < 0.01) == (radius <= 1.2)
        assert loud[60:].min() > 0.01 or radius <= 1.2

# %% [markdown]
# For linear units the rate is $\rho$ in the long run, and noise that both runs share changes nothing.
# Now tanh units, in three random networks, each with its own noise.
# In silence $\rho$ still sorts the curves: up to 0.9, less than a thousandth is left after 60 steps, and above 1 a difference stays, since the impulse has started an activity that feeds itself.
# With noise, less than a hundredth is left after 40 steps up to $\rho=1.2$; at 2 and 3 the two runs are still apart after 100.
# Only the inputs have changed, and linear units did not mind them.
# So noise acts through the slope of tanh, which is below 1 wherever an input drives a unit away from 0.
# Weaker noise should then act more slowly, and 100 steps may be too few to tell "stays" from "fades slowly".

# %%
def ends(radius, sound):
    """Distances (3, 500) of three networks in the last of 2000 steps."""
    return torch.stack([distance(radius, sound, T=2000, seed=seed)[-500:]
                        for seed in range(3)])


weak = [distance(1.2, 0.1, seed=seed).min() for seed in range(3)]
last = {case: ends(*case) for case in ((1.2, 0), (1.2, 0.1), (2, 1), (3, 1))}
for (radius, sound), left in last.items():
    print(f"radius {radius}, noise {sound}: after 2000 steps",
          *("apart" if value > 0.01 else "met" if value < 1e-9
            else f"{value:.0e}" for value in left.amax(dim=1).tolist()))
assert min(weak) > 0.05 and last[1.2, 0.1].max() < 1e-3
assert last[1.2, 0].min() > 0.05
largest = last[2, 1].amax(dim=1)  # a chaotic pair may come close for a step
assert largest.min() < 1e-9 and largest.max() > 0.01 < last[3, 1].min()

# %% [markdown]
# With a tenth of the noise at $\rho=1.2$, the same three networks keep more than a twentieth over the first 100 steps, and less than a thousandth after 1500.
# At $\rho=2$ some of the three pairs have met after 2000 steps and some have not; at 3 none has.
#
# The spectral radius by itself therefore does not say how long a network remembers.
# A radius below 1 is no guarantee of forgetting either, as Yildiz, Jaeger and Kiebel (2012) showed by counterexamples.
# Without inputs, two tanh units of radius 0.5 can forget a small state and still be active 1000 steps after a large one.

# %%
W_hh = torch.tensor([[2, 4.5], [-0.5, -1]], dtype=torch.float64)
starts = torch.tensor([[0.01, 0.01], [1, 1]], dtype=torch.float64)
silence = torch.zeros(1000, 2, 1, dtype=torch.float64)
runs = rnn_forward(silence, starts, (torch.zeros_like(starts[:1]), W_hh, 0))
print("size of the two states after 1000 steps:",
      *(f"{size:.3f}" for size in runs[-1].norm(dim=1).tolist()))
assert abs(torch.linalg.eigvals(W_hh).abs().max() - 0.5) < 1e-6
assert runs[-1, 0].norm() < 1e-9 and runs[500:, 1].norm(dim=1).min() > 0.5

# %% [markdown]
# [Section 9.7](07-backpropagation-through-time.ipynb) meets the same products of matrices in the gradient.

# %% [markdown]
# ## A memory that does not fade
#
# What the random networks keep of an input is left to chance.
# Weights can also be wired to remember one thing over any distance, and *parity* is the smallest example: has the number of ones so far been odd?
# One bit at the beginning decides the answer at the end, so no window that misses it helps.
#
# Take two units with the *step activation*, 1 for positive arguments and 0 otherwise, and
#
# $$\mathbf{W}_{xh}=\begin{bmatrix}1&1\end{bmatrix},\quad \mathbf{W}_{hh}=\begin{bmatrix}1&1\\-1&-1\end{bmatrix},\quad \mathbf{b}_h=\begin{bmatrix}-0.5&-1.5\end{bmatrix},\quad p_t=h_{t,1}-h_{t,2}. \tag{9.4.5}$$
#
# Here $x_t\in\{0,1\}$ is the input, $h_{t,1}$ and $h_{t,2}$ are the two units, both 0 at the start, and $p_t$ is the read-out.
# Both units receive $x_t+p_{t-1}$.
# The first fires if this sum is at least 1 (OR), the second if it is 2 (AND), and OR minus AND is "exactly one of the two": $p_t$ flips when $x_t=1$ and stays when $x_t=0$.
#
# ![Three circles for the states 00, 10 and 11. From 00 and from 11 a 1 leads to 10, and from 10 a 1 leads to 11. A 0 leads from 00 and from 10 back to themselves, and from 11 to 00. State 10 is marked odd, the others even.](img/rnn-parity.svg)
#
# **Figure 9.4.7.** The states $(h_1,h_2)$ that occur, and the input that leads from one to the next.

# %%
def step(Z):
    return (Z > 0).to(Z.dtype)


wired = (torch.tensor([[1.0, 1]]), torch.tensor([[1.0, 1], [-1, -1]]),
         torch.tensor([-0.5, -1.5]))


def parity(bits):
    """Parity (T, n) of each prefix of bits (T, n), by the network."""
    states = rnn_forward(bits[:, :, None], torch.zeros(bits.shape[1], 2),
                         wired, step)
    return states @ torch.tensor([1.0, -1])


print(parity(torch.tensor([1.0, 0, 1, 1, 1])[:, None])[:, 0].tolist())

# %%
# check 9.4-C6: right for all inputs of length 8, and for long ones
every = torch.cartesian_prod(*[torch.arange(2.0)] * 8).mT  # (8, 256)
long = torch.randint(2, (100, 50), generator=rng).float()
for bits in (every, long):
    truth = bits.cumsum(dim=0) % 2
    assert torch.equal(parity(bits), truth)
    linear = (1 - 2 * bits).cumprod(dim=0)  # one linear unit
    assert torch.equal(linear, 1 - 2 * truth)
assert every.shape == (8, 256) and len(every.unique(dim=1).mT) == 256
for width in range(1, 8):  # a window that misses the first bit
    other = every.clone()
    other[7 - width] = 1 - other[7 - width]  # just outside the window
    assert torch.equal(other[-width:], every[-width:])
    assert (parity(other)[-1] != parity(every)[-1]).all()
assert step(torch.tensor([-1.0, 0, 1])).tolist() == [0, 0, 1]

# %% [markdown]
# The check also shows why a window fails: to every input there is another one that looks the same through the window and has the opposite parity.
# Whatever a function of the window answers, it is wrong for one of the two.
#
# This network cannot be *found* by gradient descent as it stands, because the step has slope zero, and the gradient test above sees nothing:

# %%
blind = influence(lambda Xs: rnn_forward(
    Xs, torch.zeros(1, 2), wired, lambda Z: step(Z) + 0 * Z),  # slope 0
    long[:, :1, None])
print("largest influence in the parity network:", blind.max().item())
assert blind.shape == (100, 100) and (blind == 0).all()

# %% [markdown]
# ### The sign matters
#
# Threshold units are not needed.
# If, unlike in (9.4.3), the input may choose the recurrent factor, a single *linear* unit does it: $h_t=(1-2x_t)\,h_{t-1}$ with $h_0=1$ changes sign at every one; check C6 includes it.
# Such recurrences, linear in the state with factors computed from the input, have returned in *state-space models* (Section 10.2), many of which restrict the factor to $[0,1]$.
#
# Such a factor never flips a sign by itself.
# An input that is *added* may, and there may be more units, but this does not help much.
# On a sequence of ones each unit obeys $h_t=a\,h_{t-1}+b$ with constants $a\in[0,1]$ and $b$, and so equals a constant plus a multiple of $a^t$ (of $t$ if $a=1$).
# A linear read-out of $m$ such units is a weighted sum of at most $m+1$ of these functions, and such a sum, unless it is 0 throughout, has at most $m$ zeros: over a long row of ones its sign changes at most $m$ times, that of parity at every step.

# %%
def sign_changes(a, b, readout):
    """Sign changes (n,) of the read-out over 64 ones; arguments (n, m)."""
    H, signs = torch.ones_like(a), []
    for _ in range(64):
        H = a * H + b
        signs.append((H * readout).sum(dim=1) > 0)
    return torch.stack(signs).diff(dim=0).sum(dim=0)


free = sign_changes(-one, 0 * one, one).item()
print("one unit with factor -1:", free, "sign changes")
assert free == sign_changes(-one, 0 * one, -2 * one) == 63
for m in (1, 2, 4):
    a = torch.rand(20_000, m, generator=rng, dtype=torch.float64)
    b, readout = torch.randn(2, 20_000, m, generator=rng,
                             dtype=torch.float64)
    most = sign_changes(a, b, readout).max().item()
    print(f"{m} units with factors in [0, 1]: at most {most}")
    assert min(m, 2) <= most <= m and 0 <= a.min() < a.max() <= 1

# %% [markdown]
# Parity changes 63 times on 64 ones.
# Sarrof, Veitsman and Hahn (2024) proved that state-space models with factors that are not negative cannot recognize parity at all lengths in finite precision, and Grazzi and others (2025) extended this to matrices with only positive eigenvalues and showed that allowing eigenvalues down to $-1$ cures it.
# Finite precision is essential: a counter, $a=b=1$, with the read-out $\cos(\pi h)$, which is not linear, is right for as long as it counts exactly.

# %%
count = long.cumsum(dim=0)  # h = h + x, from 0
assert torch.equal((count * math.pi).cos().sign(), 1 - 2 * truth)
assert 1 + torch.tensor(2.0**24) == 2.0**24  # single precision stops here

# %% [markdown]
# ## Strengths and limits
#
# The same few parameters serve sequences of any length, and predicting one more token costs the same after ten tokens or ten thousand.
# With rational weights, a piecewise linear activation and states of unlimited precision, recurrent networks can simulate every Turing machine (Siegelmann and Sontag, 1995); with finite precision and one step per token they cannot, and what they can do depends on the activation (Weiss, Goldberg and Yahav, 2018).
#
# Two limits drive what follows.
# Step $t$ waits for step $t-1$, so a sequence takes $T$ matrix products in a row; recurrences that are linear in the state escape this ([Section 9.7](07-backpropagation-through-time.ipynb)).
# And the influence of an input is a product with one matrix for each step between, which for linear units fades or grows exponentially unless the spectral radius is 1.
# For gradients these are the *vanishing* and *exploding gradients* of Section 9.7, and the gates of LSTM and GRU (Chapter 10) were built against the first.
#
# Since 2017 Transformers have replaced recurrent networks in most language models (Chapter 11).
# Recurrence is coming back in linear form: Nemotron-H (2025), for example, replaces most attention layers of a Transformer with Mamba layers, whose memory and computation per generated token are constant.

# %% [markdown]
# ## Summary
#
# - A recurrent layer is a fully connected layer whose input includes its own last output; its parameter count $dh+h^2+h+hq+q$ does not depend on the length of the sequence.
# - The state is all that passes from step to step, so a sequence can be cut anywhere if the state is carried over.
# - A gradient matrix with zeros above the diagonal is strong evidence that no output sees the future, unless outputs cancel in the sum, slopes are zero or values are detached.
# - For linear units an impulse fades or grows like $\rho^t$; for tanh units the inputs decide too: in three networks of spectral radius 1.2, noise erased what silence kept.
# - Two threshold units remember parity over any distance, which no window of fixed length does; a linear unit with a linear read-out needs a negative factor for it.

# %% [markdown]
# ## Exercises
#
# ### Exercise 9.4-1
#
# An RNN predicts the next character. Which of $n$, $d$, $h$, $q$ and $T$ does the vocabulary fix, and which of them change if characters enter as learned vectors of length 8 instead of one-hot vectors?

# %% [markdown]
# #### Solution 9.4-1

# %% [markdown]
# The output has one score per token, so $q=|\mathcal{V}|$; with one-hot inputs also $d=|\mathcal{V}|$.
# Learned vectors change $d$ to 8 and leave $q$ as it is.
# Batch size $n$, length $T$ and width $h$ are free.

# %%
table = torch.randn(d, 8, generator=rng)  # one vector for each token
short = table[X]  # (6, 1, 8)
params8 = [p.float() for p in random_rnn(8, 20, radius=0.9)]
out = (rnn_forward(short, torch.zeros(1, 20), params8)
       @ torch.randn(20, d, generator=rng))
assert short.shape == (6, 1, 8) and out.shape == (6, 1, len(vocab))
F.cross_entropy(out[:, 0], Y[:, 0])  # every target has its score
assert count_rnn(d, 20, d) - count_rnn(8, 20, d) == (d - 8) * 20

# %% [markdown]
# ### Exercise 9.4-2
#
# Why can a state represent the full prefix?
# Show it for one linear unit with exact arithmetic, and measure how many characters survive in double precision.

# %% [markdown]
# #### Solution 9.4-2

# %% [markdown]
# Write the characters as digits $1,\dots,m$ with $m=|\mathcal{V}|$ and let $h_t=(h_{t-1}+x_t)/(m+1)$.
# The state is a fraction in base $m+1$ whose first digit is the newest character, and since no digit is 0, the prefix can be read off, its end included.
# Every step pushes the older digits further back.
# In double precision, with 53 significant bits, those beyond the first ten or eleven are rounded away.
# So what a state of real numbers can hold is limited by precision, and by what the read-out can decode.

# %%
def encode(prefix, zero):
    """The prefix as one number of the type of `zero`."""
    state = zero
    for index in prefix:
        state = (state + index + 1) / (len(vocab) + 1)
    return state


def decode(state, most):
    """The newest characters first, at most `most` of them."""
    newest = []
    while state > 0 and len(newest) < most:
        state *= len(vocab) + 1
        newest.append(math.floor(state) - 1)
        state -= math.floor(state)
    return newest


prefix = corpus[:400].tolist()
assert decode(encode(prefix, Fraction(0)), 1000) == prefix[::-1]
read = decode(encode(prefix, 0.0), 400)
survived = next(i for i, (a, b) in enumerate(zip(read, prefix[::-1]))
                if a != b)
print("characters that survive in double precision:", survived)
assert abs(survived - 53 / math.log2(len(vocab) + 1)) < 1.5

# %% [markdown]
# ### Exercise 9.4-3
#
# Wire an RNN that counts the ones modulo 3.
# Generalize to modulo $m$.

# %% [markdown]
# #### Solution 9.4-3

# %% [markdown]
# Let unit $k=1,\dots,m$ fire if $x_t+r_{t-1}\ge k$, where $r$ is the count so far modulo $m$.
# The number of units that fire is $x_t+r_{t-1}\in\{0,\dots,m\}$, and if the last one fires, $m$ has to be taken off.
# So the read-out is $\mathbf{w}=(1,\dots,1,1-m)$, every column of $\mathbf{W}_{hh}$ is $\mathbf{w}$, $\mathbf{W}_{xh}$ is all ones and the biases are $0.5-k$.
# For $m=2$ this is the parity network.
# It is a case of a theorem in Minsky's book of 1967: every finite-state machine can be simulated by a network of such threshold units.

# %%
def counter(m):
    """Parameters of a network that counts modulo m, and its read-out."""
    w = torch.ones(m)
    w[-1] = 1 - m
    return (torch.ones(1, m), w[:, None].repeat(1, m),
            0.5 - torch.arange(1.0, m + 1)), w


for m in range(2, 8):
    net, w = counter(m)
    for bits in (every, long):
        states = rnn_forward(bits[:, :, None],
                             torch.zeros(bits.shape[1], m), net, step)
        assert torch.equal(states @ w, bits.cumsum(dim=0) % m)
assert all(torch.equal(a, b) for a, b in zip(counter(2)[0], wired))

# %% [markdown]
# ### Exercise 9.4-4
#
# How many bits can 32 states in single precision hold at most?
# Flip the last bit of one state of a trained RNN.
# How many steps does the difference survive?

# %% [markdown]
# #### Solution 9.4-4

# %% [markdown]
# A float has 32 bits, which gives 1024; of its patterns about half are numbers between $-1$ and 1, so tanh leaves 31 bits for each unit.
#
# For the second part we train four networks on sequences of 32 characters with Adam.

# %%
patterns = 2 * torch.tensor(1.0).view(torch.int32).item() + 1  # in [-1, 1]
print(f"32 states hold at most {32 * math.log2(patterns):.0f} bits")
assert 32 * 30.9 < 32 * math.log2(patterns) < 32 * 31

# %%
def train(seed, steps):
    """W_xh, W_hh, b_h of a character model, trained; and its loss."""
    rng = torch.Generator().manual_seed(seed)
    shapes = (d, h), (h, h), (1, h), (h, d), (1, d)
    P = [((torch.rand(s, generator=rng) * 2 - 1) / h**0.5).requires_grad_()
         for s in shapes]
    optimizer, losses = torch.optim.Adam(P, lr=0.01), []
    for _ in range(steps):
        start = torch.randint(len(corpus) - 5000, (64, 1), generator=rng)
        text = corpus[start + torch.arange(33)].mT  # (33, 64)
        Hs = rnn_forward(F.one_hot(text[:-1], d).float(),
                         torch.zeros(64, h), P[:3])
        loss = F.cross_entropy((Hs @ P[3] + P[4]).flatten(0, 1),
                               text[1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [p.detach() for p in P[:3]], torch.stack(losses)

# %%
def flip_last_bits(H):
    """Copies (h, h) of a state (1, h); in copy i unit i has another bit."""
    copies = H.repeat(H.shape[1], 1)
    diagonal = copies.diagonal()
    diagonal.copy_((diagonal.view(torch.int32) ^ 1).view(torch.float32))
    return copies


def rounded(Z):
    return Z.tanh().float().to(Z.dtype)


def survival(net, dtype, phi=torch.tanh, T=300):
    """Largest differences (T + 1, h) after each of the h flips."""
    text = F.one_hot(corpus[-5000:, None][:100 + T], d)  # (100 + T, 1, d)
    H = rnn_forward(text[:100].float(), torch.zeros(1, h), net)[-1]
    starts = torch.stack((H.expand(h, h), flip_last_bits(H))).to(dtype)
    net = [p.to(dtype) for p in net]
    Xs = text[100:].to(dtype).expand(T, h, d)
    plain, flipped = (torch.cat((S[None], rnn_forward(Xs, S, net, phi)))
                      for S in starts)
    return (flipped - plain).abs().amax(dim=2)

# %% tags=["hide-input"]
H = 0.5 + torch.rand(1, 4, generator=rng) / 2  # last bit worth 2**-24
before, copies = H.clone(), flip_last_bits(H)
assert torch.equal(copies != H, torch.eye(4).bool())
assert (copies - H).abs().max() == 2**-24 and torch.equal(H, before)

# %% tags=["rtol=0.3"]
full_run = train_steps >= 300
gaps, pairs, losses, steps, alive, kept = [], [], [], [], [], []
for seed in range(4):
    net, loss = train(seed, train_steps)
    single, double = (survival(net, dtype)
                      for dtype in (torch.float32, torch.float64))
    typical = double.median(dim=1).values  # of the 32 flips
    gaps.append((single.median(dim=1).values, typical))
    losses.append(loss[-50:].mean().item())
    steps.append((typical > 1e-3 * typical[0]).sum().item())
    alive.append((single[-1] > 0).double().mean().item())
    coarse = survival(net, torch.float64, rounded)
    pairs.append([(gap > 1e-9).double().mean(dim=1)
                  for gap in (single, coarse)])
    kept += pairs[-1][1][[30, 300]].tolist()
    assert 0 < typical[0] < 2e-7 and torch.equal(single[0].double(),
                                                 double[0])
    if full_run:
        assert 1.5 < losses[-1] < 2.15 or not real
        assert typical[100:].max() < 1e-6 * typical[0]
        assert 4 <= steps[-1] <= 40
        assert typical[60:].max() < 1e-14 or not real
        assert kept[-2] > 0.5 or not real
        assert alive[-1] > 0.5 or not real
        assert single.max() < 1e-5
print("training loss", *(f"{v:.2f}" for v in losses))
if full_run:
    assert min(kept[1::2]) < 0.1 or not real
print("double precision: steps to a thousandth, mean of four "
      f"{sum(steps) / 4:.1f}")
print(f"flips still alive: single precision {sum(alive) / 4:.1f} after 300 "
      "steps; double precision with states rounded to single "
      f"{sum(kept[::2]) / 4:.1f} after 30")

# %% tags=["hide-input", "chaotic"]
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, curves, second, loc in (
        (axes[0], gaps, "double precision", "center right"),
        (axes[1], pairs, "only states rounded", "lower left")):
    for i, (name, style) in enumerate((("single precision", "C0-"),
                                       (second, "C1--"))):
        for seed, pair in enumerate(curves):
            ax.plot(pair[i], style, linewidth=1,
                    label=name if seed == 0 else "")
    ax.set_xlabel("steps after the flip")
    ax.legend(loc=loc)
axes[0].set(ylabel="largest difference", yscale="log")
axes[1].set(ylabel="share of pairs still apart", ylim=(0, 1.02))
d2l.describe(axes, """Left, on a logarithmic scale, the median differences of
    four networks. In double precision they fall along straight lines from
    about 1e-7 to rounding errors of about 1e-16 within 60 steps. In single
    precision they stay at about 1e-7. Right, the share of the pairs that
    are still apart: in single precision it soon stays constant above one
    half; with only the states rounded it falls, to zero in some networks
    and not in others.""")

# %% [markdown]
# The figure shows the median over the 32 flips (left) and the share of the 32 pairs that are still apart (right), in four networks.
# In single precision most flips are still there after 300 steps, at the size of a rounding error.
# Is this memory?
# Two controls with the same weights and the same pairs of states say no.
# In double precision the difference is lost within a few dozen steps, down to the rounding errors of that format.
# If only the *states* are rounded to single precision, while everything else is computed in double, most pairs are still apart after 30 steps.
# So what keeps a difference alive is rounding: it treats two nearby states differently, and two runs have met only when all 32 units agree.
# Whether rounding the states is enough for 300 steps depends on the network: in some nearly all pairs have met by then, in others many have not.

# %% [markdown]
# ### Exercise 9.4-5
#
# How many floating-point operations does one step cost as a function of $d$, $h$ and $q$, output included?
# Compare with the number of parameters, and say what one-hot inputs save.

# %% [markdown]
# #### Solution 9.4-5

# %% [markdown]
# A product of a row with a $d\times h$ matrix takes $dh$ multiplications and about as many additions, so the three products cost $2(dh+h^2+hq)$ for each sequence: two operations for each weight.
# Adding the two products, the biases and the activation cost another $3h+q$.
# A one-hot input needs no product at all, because it only selects a row of $\mathbf{W}_{xh}$; $2(h^2+hq)$ remain.
# PyTorch's counter, which counts products only, confirms it.

# %%
def step_flops(d, h, q):
    """Operations of the three matrix products, for one sequence."""
    return 2 * (d * h + h * h + h * q)


def counted(n, T, d, h, q):
    net = [p.float() for p in random_rnn(d, h, radius=0.9)]
    with FlopCounterMode(display=False) as counter:
        rnn_forward(torch.zeros(T, n, d), torch.zeros(n, h),
                    net) @ torch.zeros(h, q)
    return counter.get_total_flops()


for n, T, sizes in ((1, 1, (28, 32, 28)), (5, 7, (3, 4, 2))):
    assert counted(n, T, *sizes) == n * T * step_flops(*sizes)
assert step_flops(28, 32, 28) == 2 * (count_rnn(28, 32, 28) - 32 - 28)
rows = params[0][X]  # the look-up
torch.testing.assert_close(rows, Xs @ params[0])
print("products for d = q = 28, h = 32:", step_flops(28, 32, 28),
      "operations, with one-hot inputs", step_flops(0, 32, 28))

# %% [markdown]
# ## Sources
#
# - J. L. Elman, Finding structure in time, *Cognitive Science* 14 (1990), [doi:10.1016/0364-0213(90)90002-E](https://doi.org/10.1016/0364-0213(90)90002-E): the network, after Jordan (1986).
# - Y. Bengio, R. Ducharme, P. Vincent and C. Jauvin, A neural probabilistic language model, *Journal of Machine Learning Research* 3 (2003), 1137-1155; a first version appeared at NIPS 2000.
# - T. Mikolov et al., Recurrent neural network based language model, Interspeech 2010, [doi:10.21437/Interspeech.2010-343](https://doi.org/10.21437/Interspeech.2010-343).
# - I. B. Yildiz, H. Jaeger and S. J. Kiebel, Re-visiting the echo state property, *Neural Networks* 35 (2012), [doi:10.1016/j.neunet.2012.07.005](https://doi.org/10.1016/j.neunet.2012.07.005): a spectral radius below 1 is not sufficient.
# - M. L. Minsky, *Computation: finite and infinite machines*, Prentice-Hall 1967: finite-state machines as networks.
# - H. T. Siegelmann and E. D. Sontag, On the computational power of neural nets, *Journal of Computer and System Sciences* 50 (1995), 132-150.
# - G. Weiss, Y. Goldberg and E. Yahav, On the practical computational power of finite precision RNNs for language recognition, ACL 2018, [arXiv:1805.04908](https://arxiv.org/abs/1805.04908).
# - Y. Sarrof, Y. Veitsman and M. Hahn, The expressive capacity of state space models: a formal language perspective, 2024, [arXiv:2405.17394](https://arxiv.org/abs/2405.17394).
# - R. Grazzi et al., Unlocking state-tracking in linear RNNs through negative eigenvalues, 2025, [arXiv:2411.12537](https://arxiv.org/abs/2411.12537).
# - NVIDIA, Nemotron-H: a family of accurate and efficient hybrid Mamba-Transformer models, 2025, [arXiv:2504.03624](https://arxiv.org/abs/2504.03624).
