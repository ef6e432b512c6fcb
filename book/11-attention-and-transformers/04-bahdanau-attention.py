# ---
# jupyter:
#   d2l:
#     data: [fra-eng]
#     profiles:
#       gpu:
#         reversal_steps: 800
#         longest: 16
#         units: 48
#         wide_units: 192
#         num_pairs: 6711
#         max_epochs: 12
#         num_hiddens: 128
#         num_gpus: 1
#       smoke:
#         reversal_steps: 4
#         num_pairs: 600
#         num_val: 20
#         max_epochs: 1
#         num_hiddens: 16
#         num_seeds: 2
#     rehearsal:
#       reversal_steps: 0.01
#       num_pairs: 0.1
#       max_epochs: 0.1
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
# # 11.4 The Bahdanau attention mechanism
#
# The translator of [Section 10.7](../10-modern-rnns/07-seq2seq.ipynb) hands one state from the encoder to the decoder, however long the sentence is.
# Bahdanau, Cho and Bengio (2014) let the decoder look back at all states of the encoder, at each step at those it needs.
# We add this to the translator, test with a controlled experiment what it buys, and read off where the model looks.
#
# **You will**
#
# - write a decoder that computes a new context before each step, and check it against the equations;
# - separate the effect of attention from that of more units and of longer training, on a task where the answer is known;
# - compare translators with and without attention on held-out sentences at equal steps;
# - read alignments, and find out what a model loses when its weights are taken away.
#
# **Cost**: about 45 seconds on a CPU; longer in the profile `gpu`, which trains larger models; a download of 3 MB, once.

# %%
import copy
import math
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    AdditiveAttention, DotProductAttention, show_heatmaps)
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.linear_regression import DataModule, add_to_class
from d2l_helpers.chapters.modern_rnns import (
    GRU, Decoder, MTFraEng, Seq2Seq, Seq2SeqDecoder, Seq2SeqEncoder, bleu,
    init_seq2seq, nearest_neighbor_baseline, to_sentences, translate)
from d2l_helpers.chapters.recurrent_neural_networks import fit_clipped

d2l.use_style()

# %% tags=["parameters"]
reversal_steps = 360  # of each model that reverses digits
longest = 9  # sequence in that training
units = 24  # of its GRUs
wide_units = 64  # of the control
num_pairs = 3000  # sentences to train on
num_val = 500
max_epochs = 5
num_hiddens = 48  # of the translators
num_seeds = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## One state for the whole sentence
#
# In Section 10.7 the last state of the encoder was all that the decoder ever learned about the source.
# For a short sentence that may be enough.
# But the number of values is fixed, while the source can be as long as it likes, and Cho and others (2014) found that such a translator does relatively well on short sentences without unknown words and gets worse rapidly as sentences become longer.
# Bahdanau and others conjectured that the fixed-length vector is a *bottleneck*.
#
# What kind of bottleneck?
# Counted in bits there is room: ten random digits have $10\log_2 10\approx33$ bits, hardly more than one number in single precision, and a state has dozens of these.
# The question is what training finds.
# The encoder must learn to pack the whole source into one vector, and the decoder to unpack it in the right order.
# If the states of all positions stay available, neither is needed.
#
# ![Four encoder states h1 to h4 above the words i'm, home, full stop, eos. Lines of different widths lead from them to a box, attention, which also receives the decoder's state as a query. Out comes the context c, which enters the GRU together with the previous token and the previous state; the new state gives the next token.](img/bahdanau-step.svg)
#
# **Figure 11.4.1.** Step $t'$ of a decoder with attention.
# The state before the step is the query; all encoder states are keys and values; the widths of the lines are the weights.
#
# ## The model
#
# Let $\mathbf{h}_1,\dots,\mathbf{h}_T\in\mathbb{R}^h$ be the states of the encoder's top layer and $\mathbf{s}_0,\mathbf{s}_1,\dots\in\mathbb{R}^h$ those of the decoder.
# The fixed context $\mathbf{c}$ of Section 10.7 is replaced by one for each step $t'$, attention pooling ([Section 11.1](01-queries-keys-values.ipynb)) with the query $\mathbf{s}_{t'-1}$ and the keys and values $\mathbf{h}_t$:
#
# $$\mathbf{c}_{t'}=\sum_{t=1}^{T}\alpha(\mathbf{s}_{t'-1},\mathbf{h}_t)\,\mathbf{h}_t,\qquad \alpha(\mathbf{s},\mathbf{h}_t)=\frac{\exp a(\mathbf{s},\mathbf{h}_t)}{\sum_{j=1}^T\exp a(\mathbf{s},\mathbf{h}_j)}. \tag{11.4.1}$$
#
# The weight $\alpha$ is a number between 0 and 1, and the sums run over the valid tokens only.
# The score is the additive one of [Section 11.3](03-attention-scoring.ipynb),
#
# $$a(\mathbf{s},\mathbf{h})=\mathbf{w}_v^\top\tanh(\mathbf{W}_q\mathbf{s}+\mathbf{W}_k\mathbf{h}), \tag{11.4.2}$$
#
# with learned $\mathbf{W}_q,\mathbf{W}_k\in\mathbb{R}^{h\times h}$ and $\mathbf{w}_v\in\mathbb{R}^h$.
# Then the decoder takes its step as before,
#
# $$\mathbf{s}_{t'}=g(y_{t'-1},\mathbf{c}_{t'},\mathbf{s}_{t'-1}),\qquad P(y_{t'}\mid y_0,\dots,y_{t'-1},\mathbf{c}_1,\dots,\mathbf{c}_{t'})=\operatorname{softmax}(\mathbf{W}\mathbf{s}_{t'}+\mathbf{b})_{y_{t'}}, \tag{11.4.3}$$
#
# where $g$ is a step of a GRU that reads the embedding of the token $y_{t'-1}$ and the context side by side, $y_0$ is `<bos>`, and $\mathbf{W}\in\mathbb{R}^{q\times h}$ and $\mathbf{b}\in\mathbb{R}^q$ belong to the linear layer, for a target vocabulary of size $q$.
# The first state $\mathbf{s}_0$ is still the encoder's last one, so nothing that the plain decoder knew at its start is missing.
# Mind the order: the query is the state *before* the step, as the one after it needs the context.
#
# For two-dimensional states $(1,0)$, $(0,1)$, $(1,1)$ with the scores $0,\log2,0$ the weights are $\frac14,\frac12,\frac14$, and the context is $(\frac12,\frac34)$:

# %%
h = torch.tensor([[[1.0, 0], [0, 1], [1, 1]]])  # (1, T, h)
a = torch.tensor([[[0, math.log(2), 0]]])  # (1, 1, T)
c = DotProductAttention().pool(a, h)
print(c)
torch.testing.assert_close(c, torch.tensor([[[0.5, 0.75]]]))

# %% [markdown]
# Here the context reaches the output through $\mathbf{s}_{t'}$ alone.
# In the paper the output layer reads it directly, too, and the encoder is bidirectional, so $\mathbf{h}_t$ also knows what comes after word $t$ (Exercise 11.4-3).
#
# ## The decoder
#
# Decoders of this chapter can tell where they looked, which is the whole interface:

# %% tags=["export"]
class AttentionDecoder(Decoder):
    """A decoder that can tell where it looked."""

    @property
    def attention_weights(self):
        """The weights of the last forward pass."""
        raise NotImplementedError("define attention_weights")

# %% [markdown]
# The layers are those of the plain decoder and an attention of Section 11.3.

# %% tags=["export"]
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

# %% [markdown]
# The state that travels from step to step has four parts: the encoder's states, the decoder's own state, the valid lengths, and the keys.
# The keys are the products $\mathbf{W}_k\mathbf{h}_t$, which do not depend on the query, so `init_state` computes them once for each sentence instead of once for each token that is written.
#
# In Section 10.7 one call ran the GRU over a whole target.
# That no longer works: the query of step $t'$ is the state that step $t'-1$ has just produced.
# So there is a loop, in training too.

# %% tags=["export"]
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

# %%
# check 11.4-C1: shapes of scores and state
torch.manual_seed(0)
sizes = 10, 8, 16, 2  # vocabulary, embedding, units, layers
encoder = Seq2SeqEncoder(*sizes)
decoder = Seq2SeqAttentionDecoder(*sizes)
X, lens = torch.randint(10, (4, 7)), torch.tensor([7, 2, 5, 3])
Y = torch.randint(10, (4, 7))
enc_all_outputs = encoder(X, lens)
start = decoder.init_state(enc_all_outputs, lens)
scores, state = decoder(Y, start)
assert scores.shape == (4, 7, 10) and state[0].shape == (4, 7, 16)
assert state[1].shape == (2, 4, 16) and state[1][0].shape == (4, 16)
assert decoder.attention_weights.shape == (4, 7, 7)
print("scores", tuple(scores.shape), " encoder states",
      tuple(state[0].shape), " state", tuple(state[1].shape))

# %% [markdown]
# Four checks of what the equations promise.
# Padding must get weight 0, not just little, and what stands there must not matter.

# %%
# check 11.4-C2: padding has weight 0, and what stands there is irrelevant
weights = decoder.attention_weights  # (4, 7, 7)
torch.testing.assert_close(weights.sum(dim=2), torch.ones(4, 7))
for row, n in enumerate(lens.tolist()):
    assert (weights[row, :, n:] == 0).all() and (weights[row, :, :n] > 0).all()
padded = torch.arange(7)[:, None] >= lens  # (T, n)
noise = torch.where(padded[..., None], 9.0, enc_all_outputs[0])
noisy = decoder.init_state((noise, enc_all_outputs[1]), lens)
assert torch.equal(decoder(Y, noisy)[0], scores)
unmasked = decoder.init_state((noise, enc_all_outputs[1]))
assert (decoder(Y, unmasked)[0] - scores).abs().max() > 0.01

# %% [markdown]
# With a constant score, all weights are equal, and the context is the mean of the valid states.

# %%
def contexts(decoder, Y, state):
    """The contexts (T', n, h) that the GRU reads."""
    seen = []
    hook = decoder.rnn.register_forward_pre_hook(
        lambda rnn, args: seen.append(args[0][0, :, :state[0].shape[2]]))
    decoder(Y, state)
    hook.remove()
    return torch.stack(seen)


# check 11.4-C3: constant scores give the mean of the valid states
flat = copy.deepcopy(decoder)
nn.init.zeros_(flat.attention.w_v.weight)
means = torch.stack([enc_all_outputs[0][:n, row].mean(dim=0)
                     for row, n in enumerate(lens.tolist())])  # (n, h)
torch.testing.assert_close(
    contexts(flat, Y, flat.init_state(enc_all_outputs, lens)),
    means.expand(7, 4, 16))
assert (contexts(decoder, Y, start) - means).abs().max() > 0.005

# %% [markdown]
# Fed token by token, as in a translation, the decoder must compute the same as in one call with the whole target.

# %%
# check 11.4-C4: token by token = all at once
state, pieces, looked = start, [], []
for token in Y.split(1, dim=1):
    piece, state = decoder(token, state)
    pieces.append(piece)
    looked.append(decoder.attention_weights)
torch.testing.assert_close(torch.cat(pieces, dim=1), scores)
torch.testing.assert_close(torch.cat(looked, dim=1), weights)

# %% [markdown]
# And in a translation of seven tokens the queries are projected seven times, the keys once.

# %%
calls = {"W_q": 0, "W_k": 0}


def count_call(name):
    def hook(layer, args, output):
        calls[name] += 1
    return getattr(decoder.attention, name).register_forward_hook(hook)


hooks = [count_call(name) for name in calls]
Seq2Seq(encoder, decoder, tgt_pad=3, lr=0.01).predict_step(
    (X, Y, lens), num_steps=7)
for hook in hooks:
    hook.remove()
print(calls)
assert calls == {"W_q": 7, "W_k": 1}

# %% tags=["hide-input"]
# further promises
with torch.no_grad():  # the first step by hand
    s, H = enc_all_outputs[1], start[0]  # (2, 4, 16), (4, 7, 16)
    a = torch.tanh(s[-1][:, None] @ decoder.attention.W_q.weight.T
                   + H @ decoder.attention.W_k.weight.T)
    a = (a @ decoder.attention.w_v.weight.T).squeeze(2)  # (4, 7)
    a[padded.T] = -torch.inf
    c = (torch.softmax(a, dim=1)[..., None] * H).sum(dim=1)
    step = torch.cat((c, decoder.embedding(Y[:, 0])), dim=1)
    out, _ = decoder.rnn(step[None], s)
    torch.testing.assert_close(decoder.dense(out[0]), scores[:, 0])
assert not weights.requires_grad and scores.requires_grad
scores.sum().backward()
assert all(p.grad is not None for p in [*encoder.parameters(),
                                        *decoder.parameters()])
for name, W in [("w", decoder.dense.weight),
                *decoder.rnn.named_parameters()]:
    if "w" in name.rpartition(".")[2][:1]:
        bound = (6 / sum(W.shape)) ** 0.5
        assert 0.9 * bound < W.abs().max() <= bound
dropping = Seq2SeqAttentionDecoder(*sizes, dropout=0.5)
assert dropping.rnn.rnn.dropout == dropping.attention.dropout.p == 0.5
dotted = Seq2SeqAttentionDecoder(*sizes, score="dot")
assert type(dotted.attention) is DotProductAttention
assert dotted(Y, dotted.init_state(enc_all_outputs, lens))[0].shape == (
    4, 7, 10)
try:
    Seq2SeqAttentionDecoder(*sizes, score="cosine")
    raise AssertionError("an unknown score was accepted")
except ValueError as error:
    assert "'cosine'" in str(error)
try:
    AttentionDecoder().attention_weights
    raise AssertionError("an abstract decoder has weights")
except NotImplementedError as error:
    assert "attention_weights" in str(error)

# %% [markdown]
# ## Digits in reverse
#
# Sentences differ in more than their length, so we first take a task in which only the length makes a difference: read random digits, write them from right to left.

# %% tags=["export"]
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

# %%
for array in reversal_task(1, 5, generator=torch.Generator().manual_seed(0)):
    print(array.tolist())

# %% tags=["hide-input"]
src, tgt, valid_len, label = reversal_task(
    500, 4, num_symbols=3, generator=torch.Generator().manual_seed(0))
assert src.unique().tolist() == [0, 1, 2] and src.shape == (500, 4)
assert all(torch.equal(src[:, t], label[:, 3 - t]) for t in range(4))
assert torch.equal(tgt[:, 1:], label[:, :-1]) and (tgt[:, 0] == 3).all()
assert valid_len.shape == (500,) and (valid_len == 4).all()
assert torch.equal(src, reversal_task(
    500, 4, 3, torch.Generator().manual_seed(0))[0])

# %% [markdown]
# The rows are source, decoder input (10 begins), valid length and label.
# The information in the source grows in proportion to its length, and for every output we know where to look.
# Each batch has one length, drawn from 2 to `longest`.

# %%
class ReversalData(DataModule):
    """Batches of `reversal_task`, each of a random length from 2 on."""

    def __init__(self, num_batches, longest, batch_size=64):
        super().__init__()
        self.save_hyperparameters()

    def get_dataloader(self, train):
        if not train:
            return None
        lengths = torch.randint(2, self.longest + 1, (self.num_batches,),
                                generator=self.generator).tolist()
        return [reversal_task(self.batch_size, length,
                              generator=self.generator)
                for length in lengths]


def make_model(decoder, src_size, tgt_size, num_hiddens, pad, lr, seed,
               encoder=Seq2SeqEncoder, **options):
    """A `Seq2Seq` of one layer with weights from a seed."""
    torch.manual_seed(seed)
    sizes = num_hiddens, num_hiddens, 1
    return Seq2Seq(encoder(src_size, *sizes),
                   decoder(tgt_size, *sizes, **options), pad, lr)

# %% tags=["hide-input"]
# one length a batch, from 2 to `longest`; the generator decides
trial = ReversalData(300, 5)
loaded = []
for seed in (0, 0, 1):
    trial.generator = torch.Generator().manual_seed(seed)
    loaded.append(trial.train_dataloader())
assert len(loaded[0]) == 300 and trial.val_dataloader() is None
assert {src.shape for src, *_ in loaded[0]} == {(64, n) for n in range(2, 6)}
assert torch.equal(loaded[0][7][0], loaded[1][7][0])
assert any(a[0].shape != b[0].shape for a, b in zip(loaded[0], loaded[2]))
a, b, c = (make_model(Seq2SeqAttentionDecoder, 10, 11, 8, 10, 0.5, seed)
           for seed in (0, 0, 1))
assert torch.equal(a.decoder.dense.weight, b.decoder.dense.weight)
assert not torch.equal(a.decoder.dense.weight, c.decoder.dense.weight)
assert a.lr == 0.5 and a.tgt_pad == 10 and a.decoder.rnn.num_layers == 1
assert a.encoder.embedding.weight.shape == (10, 8)
assert a.decoder.embedding.weight.shape == (11, 8)

# %% [markdown]
# Two models compete, the plain one of Section 10.7 and the one with attention, which has a few parameters more.
# Two controls take the difference apart.
# A plain model whose state is more than twice as wide, with about six times as many parameters as the one with attention, tells whether units can take the place of attention.
# And a decoder that reads the *mean* of all encoder states, which is attention with even weights from the start, sees all positions but cannot choose among them.
#
# Each *arm*, as the competitors of an experiment are called, has three seeds, and all get the same sequences and the same number of steps.
# The rate of Adam is 0.005, for the wide model 0.0025; among 0.0025, 0.005 and 0.01, no other did clearly better for its arm in trials with one seed.

# %%
class MeanDecoder(Seq2SeqDecoder):
    """Its context is the mean of the encoder's states (no padding)."""

    def init_state(self, enc_all_outputs, *args):
        outputs, hidden = enc_all_outputs  # (T, n, h), (layers, n, h)
        return outputs.mean(dim=0), hidden


def train_reverser(decoder, num_hiddens, seed, steps=reversal_steps,
                   lr=0.005, **options):
    """A model that has been trained to reverse digits, on the CPU."""
    model = make_model(decoder, 10, 11, num_hiddens, pad=10, lr=lr,
                       seed=seed, **options)
    fit_clipped(model, ReversalData(steps, longest), 1, seed=seed,
                num_gpus=num_gpus)
    return model.cpu()


arms = {"plain": (Seq2SeqDecoder, units, 0.005),
        "plain, more units": (Seq2SeqDecoder, wide_units, 0.0025),
        "mean of all states": (MeanDecoder, units, 0.005),
        "attention": (Seq2SeqAttentionDecoder, units, 0.005)}
reversers = {name: [train_reverser(decoder, width, seed, lr=lr)
                    for seed in range(num_seeds)]
             for name, (decoder, width, lr) in arms.items()}
for name in arms:
    print(f"{name}: {count_params(reversers[name][0])} parameters")

# %%
def share_reversed(model, length, n=500):
    """Share of n new sequences that come out without a mistake."""
    batch = reversal_task(n, length,
                          generator=torch.Generator().manual_seed(114))
    rows = model.predict_step(batch, length)
    return (rows == batch[3]).all(dim=1).float().mean().item()


lengths = range(2, longest + 3)
shares = {name: torch.tensor([[share_reversed(model, length)
                               for length in lengths] for model in models])
          for name, models in reversers.items()}  # (seeds, lengths)

# %% tags=["hide-input"]
class Oracle:
    """Reverses, but for the last digit of sequences that begin with 0."""

    def predict_step(self, batch, num_steps):
        rows = batch[0].flip(1)
        rows[:, -1] += rows[:, -1] == 0
        return rows


assert 0.85 < share_reversed(Oracle(), 5) < 0.95
context, first = MeanDecoder(*sizes).init_state(enc_all_outputs)
assert torch.equal(first, enc_all_outputs[1])  # the context: even weights
torch.testing.assert_close(context, contexts(
    flat, Y, flat.init_state(enc_all_outputs))[0])
assert [arm[:2] for arm in arms.values()] == [
    (Seq2SeqDecoder, units), (Seq2SeqDecoder, wide_units),
    (MeanDecoder, units), (Seq2SeqAttentionDecoder, units)]
for name, models in reversers.items():
    assert all(model.lr == arms[name][2] for model in models)
    firsts = {model.decoder.dense.weight[0, 0].item() for model in models}
    assert len(firsts) == num_seeds

# %% tags=["hide-input", "chaotic"]
full_run = reversal_steps >= 360 and max_epochs >= 5 and num_seeds >= 3
cpu_run = full_run and (units, longest, num_hiddens) == (24, 9, 48)
fig, ax = plt.subplots(figsize=(5.2, 3))
styles = {"plain": "C0o-", "plain, more units": "C2^:",
          "mean of all states": "C3v-.", "attention": "C1s--"}
for shift, (name, style) in zip((-0.15, 0.05, -0.05, 0.15), styles.items()):
    ax.plot(lengths, shares[name].mean(dim=0), style[0:2] + style[3:], lw=1.2)
    for k, row in enumerate(shares[name]):
        ax.plot([n + shift for n in lengths], row, style[:3], ms=4,
                alpha=0.7, label=name if k == 0 else None)
ax.axvline(longest + 0.5, color="0.5", lw=1, ls=":")
ax.set(xlabel="digits in the source", ylabel="sequences without a mistake",
       xticks=list(lengths), ylim=(-0.03, 1.03))
ax.legend(loc="lower left")
d2l.describe(ax, """Share of sequences reversed without a mistake against
    the length, three seeds for each of four models. All begin at 1. The
    plain model and the one that reads the mean fall first, together, the
    one with more units a little later, the one with attention much later;
    beyond the training lengths attention falls on, the others are near 0.""")

# %% [markdown]
# **Figure 11.4.2.** New random sequences, reversed by greedy prediction; dots are seeds, lines their means.
# Right of the dotted line are lengths that did not occur in training.

# %%
# check 11.4-C5: short sequences are easy for all, long ones are not
def share_at(name, length):
    """The shares of all seeds at one length."""
    return shares[name][:, list(lengths).index(length)]


assert shares["plain"].shape == (num_seeds, len(lengths))
if full_run:
    assert shares["attention"].mean() > shares["plain"].mean() + 0.1
if cpu_run:
    for name in arms:
        assert share_at(name, 3).min() > 0.95
    assert share_at("plain", 8).max() < 0.1
    assert share_at("attention", 8).min() > 0.2
    assert share_at("attention", 6).min() > 0.6
    for n in (6, 7, 8):
        plain, wide, mean, attentive = (share_at(name, n) for name in arms)
        assert plain.mean() < wide.mean() and wide.max() < attentive.min()
        assert mean.max() < attentive.min() - 0.15
        assert abs(mean.mean() - plain.mean()) < (
            attentive.mean() - plain.mean()) / 3
assert 5.5 < count_params(reversers["plain, more units"][0]) / count_params(
    reversers["attention"][0]) < 6.5 or not cpu_run

# %% [markdown]
# Up to three digits, all arms are nearly perfect.
# Then the plain model falls quickly, and with eight digits hardly any sequence comes out right.
# More units help, but at six, seven and eight digits every seed with attention is ahead of every seed without, the wide ones included.
# The decoder that reads the mean of all states is about where the plain one is.
# It reads the same states as attention, if only as their mean, and has the same short paths for the gradient from an output to every digit.
# In this task that is not enough: what it lacks is the *choice* among the states, made anew at each step.
#
# Is the plain model unable to do it, or is it slow to learn?
# Two models of seed 0 may go on: the wide one for twice as many steps again, the one with attention for as many.

# %% tags=["rtol=0.3"]
after = {}
for name, more in (("plain, more units", 2), ("attention", 1)):
    model = copy.deepcopy(reversers[name][0])
    fit_clipped(model, ReversalData(more * reversal_steps, longest), 1,
                seed=100, num_gpus=num_gpus)
    after[name] = [share_reversed(model.cpu(), n) for n in (6, 8)]
    print(f"{name}, {1 + more} times the steps:",
          ", ".join(f"{share:.2f}" for share in after[name]))
if cpu_run:
    slow, quick = after.values()
    for k, n in enumerate((6, 8)):
        assert slow[k] > share_at("plain, more units", n)[0] + 0.1
        assert slow[k] > share_at("attention", n).mean() - 0.1
    assert quick[1] > share_at("attention", 8).max() + 0.1
    assert quick[1] > slow[1] + 0.1

# %% [markdown]
# After three times the steps, the wide plain model is about where the small ones with attention were after a third of that.
# So the fixed state is no wall at these lengths, but a handicap: what attention does early takes the plain model more units and more training.
# The model with attention meanwhile, with twice the steps, has gone far ahead at eight digits.
# It has not solved the task either: the shares of this arm fall with the length, too, and go on falling beyond the lengths of training.
#
# ## Where does it look?
#
# For each output we know the digit it needs: the one at the mirrored position.

# %%
def forced(model, batch):
    """Right or not (n, T') and weights (n, T', T), with true inputs."""
    with torch.no_grad():
        scores = model(*batch[:3])
    return scores.argmax(dim=2) == batch[3], model.decoder.attention_weights


eights = reversal_task(1000, 8, generator=torch.Generator().manual_seed(8))
untrained = make_model(Seq2SeqAttentionDecoder, 10, 11, units, 10, lr=0.005,
                       seed=0)
looks = [forced(model, eights)
         for model in (untrained, *reversers["attention"])]

# %% tags=["hide-input", "chaotic"]
axes = show_heatmaps(
    torch.stack([weights.mean(dim=0) for _, weights in looks])[None],
    xlabel="digit read", ylabel="digit written", figsize=(7.2, 2.3),
    titles=["untrained", *(f"seed {k}" for k in range(num_seeds))])
d2l.describe(axes, """Heat maps of weights, 8 digits written by 8 read,
    averaged over 1000 sequences. Untrained: nearly even. The trained models
    each have a dark stripe along the antidiagonal, one to its right from the
    second digit on.""")

# %% [markdown]
# **Figure 11.4.3.** Mean weights over 1000 sequences of eight digits.
# After training the largest lie on or beside the antidiagonal: what is written first was read last.

# %% tags=["rtol=0.3"]
# check 11.4-C6: the largest weight is at the mirror, or beside it
def mirrored(weights):
    """Share of steps whose largest weight is at most 1 from the mirror."""
    mirror = torch.arange(weights.shape[2]).flip(0)  # (T,)
    return ((weights.argmax(dim=2) - mirror).abs() <= 1).float().mean().item()


def one_late(weights):
    """Share of later steps whose largest weight is right of the mirror."""
    mirror = torch.arange(weights.shape[2]).flip(0)
    return (weights.argmax(dim=2) == mirror + 1)[:, 1:].float().mean().item()


print(f"untrained: {mirrored(looks[0][1]):.2f}")
hits = [mirrored(weights[right.all(dim=1)] if right.all(dim=1).any()
                 else weights) for right, weights in looks[1:]]
late = [one_late(weights) for _, weights in looks[1:]]
print("trained, correct sequences:", ", ".join(f"{hit:.2f}" for hit in hits))
print("exactly one to the right:", ", ".join(f"{hit:.2f}" for hit in late))
assert mirrored(torch.eye(4).flip(0)[None]) == 1
assert abs(mirrored(torch.eye(5)[None]) - 0.2) < 1e-6  # the middle step
assert mirrored(torch.eye(4)[None]) == 0.5  # the two steps in the middle
assert one_late(torch.eye(4).flip(0).roll(1, 1)[None]) == 1
assert one_late(torch.eye(4).flip(0)[None]) == 0
if cpu_run:
    assert min(hits) > 0.9 and mirrored(looks[0][1]) < 0.5
    assert min(late) > 0.7

# %% [markdown]
# No one told the model where the digits are; the alignment came from the loss alone.
# From the second digit on, the largest weight usually lies one to the *right* of the digit that is needed.
# That need not be a mistake: the state there has read this digit one step before.
# A weight on $\mathbf{h}_t$ is a weight on what the encoder knows at $t$, not on token $t$.
#
# Do the weights *matter*, or could the model do without?
# A direct test is to take them away: we set $\mathbf{w}_v=\mathbf{0}$ in a copy, which makes all weights equal and leaves everything else as trained.

# %%
def with_even_weights(model):
    """A copy of a trained model that attends to all states equally."""
    model = copy.deepcopy(model)
    nn.init.zeros_(model.decoder.attention.w_v.weight)
    return model

# %% tags=["rtol=0.3"]
for k, model in enumerate(reversers["attention"]):
    before, after = (share_reversed(m, 5) for m in (
        model, with_even_weights(model)))
    print(f"seed {k}, five digits: {before:.2f}, with even weights "
          f"{after:.2f}")
    if cpu_run:
        assert before > 0.75 and after < 0.3
assert reversers["attention"][0].decoder.attention.w_v.weight.any()
even = forced(with_even_weights(reversers["attention"][0]), eights)[1]
torch.testing.assert_close(even, torch.full((1000, 8, 8), 1 / 8))

# %% [markdown]
# Without its weights, a model that was right on most sequences of five digits is wrong on most.
# For these models they are no decoration.
# That cannot be taken for granted: in the debate on whether attention explains anything, Wiegreffe and Pinter (2019) propose several tests, among them a baseline with uniform weights.
# Taking the weights away shows what a trained model loses; the decoder that reads the mean showed what a model with even weights from the start can learn.
#
# ## Translation
#
# Now sentences: the pronoun subset of [Section 10.5](../10-modern-rnns/05-machine-translation-data.ipynb), held-out English sentences, and a vocabulary from the training part alone.
# To train two kinds of models with three seeds each on a laptop, we take fewer sentences than Section 10.7 and GRUs with 48 units; scores are comparable within this section only.
# Both kinds have equal steps, and the rate 0.02 of Adam, which for either gave the lowest validation loss among 0.01, 0.02 and 0.04 in a trial with one seed.
# Equal steps are not equal time: without loop and attention, a step of the plain model is faster (Exercise 11.4-2 prints times of forward passes).

# %%
data = MTFraEng(100, subset="pronoun", num_train=num_pairs, num_val=num_val)
real = data.source == "real"


def train_translator(decoder, seed, epochs=max_epochs, **options):
    """A translator, on the CPU, and its history."""
    model = make_model(decoder, len(data.src_vocab), len(data.tgt_vocab),
                       num_hiddens, data.tgt_vocab["<pad>"], lr=0.02,
                       seed=seed, **options)
    history = fit_clipped(model, data, epochs, seed=seed, num_gpus=num_gpus)
    return model.cpu(), history


runs = {name: [train_translator(decoder, seed) for seed in range(num_seeds)]
        for name, decoder in (("plain", Seq2SeqDecoder),
                              ("attention", Seq2SeqAttentionDecoder))}

# %% [markdown]
# Scores are BLEU-2 as in (10.7.4), the mean over sentences, beside those of the *lookup* of Section 10.7, which returns the French of the most similar training sentence.

# %%
sources, labels = ([" ".join(pair[side][:-1])
                    for pair in data.pairs[num_pairs:]] for side in (0, 1))


def scores_of(outputs):
    """BLEU-2 of each output, (num_val,)."""
    return torch.tensor([bleu(out, label, 2) for out, label in zip(
        outputs, labels, strict=True)])


found = {name: torch.stack([scores_of(translate(model, data, sources))
                            for model, _ in pairs])
         for name, pairs in runs.items()}  # (seeds, num_val)
lookup = scores_of(nearest_neighbor_baseline(data, sources))
losses = {name: torch.tensor([history["val_loss"] for _, history in pairs])
          for name, pairs in runs.items()}  # (seeds, epochs)

# %% tags=["rtol=0.2"]
for name in runs:
    for what, values in (("loss", losses[name][:, -1]),
                         ("BLEU-2", found[name].mean(dim=1))):
        print(f"{name:9} {what:6}", ", ".join(f"{v:.3f}" for v in values))
print(f"lookup    BLEU-2 {lookup.mean():.3f}")

# %%
# check 11.4-C7: at equal steps attention is better, in loss and BLEU
bleus = {name: scores.mean(dim=1) for name, scores in found.items()}
assert bleus["plain"].shape == (num_seeds,) and len(labels) == num_val
assert losses["plain"].shape == (num_seeds, max_epochs)
trained = {tuple(src) for src, _ in data.pairs[:num_pairs]}
assert not any((*source.split(), "<eos>") in trained for source in sources)
if full_run and real:
    assert losses["attention"].amin() < losses["plain"].amin()
if cpu_run and real:
    assert losses["attention"][:, -1].max() < losses["plain"][:, -1].min()
    assert (losses["plain"] - losses["attention"])[:, -1].mean() > 0.1
    assert bleus["attention"].min() > bleus["plain"].max()
    assert bleus["attention"].mean() > bleus["plain"].mean() + 0.025
    assert bleus["attention"].mean() < lookup.mean() - 0.005

# %% [markdown]
# After these epochs, the models with attention have the lower validation loss and the higher BLEU in every seed.
# On average over the seeds, the lookup is still ahead of both: 3000 sentences and a few epochs do not make a translator.
#
# Section 10.7 left a question: its scores fall with the length of the source; is the fixed context to blame?

# %% tags=["hide-input", "rtol=0.2"]
sizes = torch.tensor([len(source.split()) for source in sources])
at = [n for n in range(3, 9) if (sizes == n).any()]
fig, ax = plt.subplots(figsize=(4.8, 2.9))
for name, style in (("plain", "C0o-"), ("attention", "C1s--")):
    by_length = torch.stack([found[name][:, sizes == n].mean(dim=1)
                             for n in at])  # (lengths, seeds)
    ax.plot(at, by_length.mean(dim=1), style[:2] + style[3:], lw=1.2)
    for k, column in enumerate(by_length.T):
        ax.plot(at, column, style[:3], ms=4, alpha=0.7,
                label=name if k == 0 else None)
ax.plot(at, [lookup[sizes == n].mean() for n in at], "C2^:", ms=4,
        label="lookup")
ax.set(xlabel="tokens of the source", ylabel="BLEU-2", ylim=(0, None))
ax.legend()
d2l.describe(ax, """BLEU-2 against the number of source tokens from 3 to 8.
    With and without attention it falls from above 0.4 at three tokens to
    about 0.2 at eight. From four tokens on, the mean with attention is
    higher by several hundredths. The lookup starts lower, is highest at five
    tokens, and lower again for longer sources.""")

# %% [markdown]
# **Figure 11.4.4.** BLEU-2 against the length of the source; dots are seeds, lines their means.

# %% tags=["rtol=0.5"]
gained = (found["attention"] - found["plain"]).mean(dim=0)  # (num_val,)
gains, errors = {}, {}
for name, group in (("3 tokens", sizes <= 3),
                    ("4 and 5", (sizes == 4) | (sizes == 5)),
                    ("6 and more", sizes > 5)):
    gains[name] = gained[group].mean().item()
    gap = gained[group] - gains[name]
    errors[name] = (gap.square().mean() / group.sum()).sqrt().item()
    print(f"{name}: gain {gains[name]:.3f}, on {group.sum()} sentences, "
          f"standard error {errors[name]:.3f}")
if cpu_run and real:
    shortest, short, long = gains.values()
    assert abs(shortest) < 0.03 < short and long > 0.02
    _, *late_errors = errors.values()
    assert long - short < 2 * math.hypot(*late_errors) < 0.04
    assert (lookup[sizes == 5].mean() > 0.05 + max(
        lookup[sizes == n].mean() for n in (3, 7, 8)))
    for rows in found["attention"]:
        assert rows[sizes >= 7].mean() < 0.7 * rows[sizes <= 4].mean()
    assert all((sizes == n).sum() > 35 for n in range(3, 9))

# %% [markdown]
# In part, at most.
# With attention, sources of seven and eight tokens still score more than 30 % below those of three and four, and from four tokens on, longer sentences do not gain more points of BLEU than shorter ones, within two standard errors (over sentences, for these seeds); only sources of three tokens gain nothing.
# These sentences are all short, and with so few of them to learn from, rare words may matter more than any bottleneck.
# The clear effect of length is that of the digits above; these data do not show one.
#
# ## Reading an alignment

# %%
def look(model, sentences):
    """Output tokens, lists of source tokens, and weights (n, T', T)."""
    src, tgt, valid_len, _ = data.build(sentences, [""] * len(sentences))
    rows = model.predict_step((src, tgt, valid_len), data.num_steps)
    fed = torch.cat((tgt[:, :1], rows[:, :-1]), dim=1)
    with torch.no_grad():
        model(src, fed, valid_len)
    outputs = [[*text.split(), "<eos>"]
               for text in to_sentences(rows, data.tgt_vocab)]
    return outputs, data.src_vocab.to_tokens(src), (
        model.decoder.attention_weights)

# %% tags=["hide-input"]
outs, srcs, weights = look(runs["attention"][-1][0], sources[:20])
assert [" ".join(out[:-1]) for out in outs] == translate(
    runs["attention"][-1][0], data, sources[:20])
for source, src, matrix in zip(sources, srcs, weights):
    n = src.index("<eos>") + 1
    assert n == len(source.split()) + 1 and (matrix[:, n:] == 0).all()
    torch.testing.assert_close(matrix[:, :n].sum(dim=1),
                               torch.ones(data.num_steps))
built = data.build(sources[:20], [""] * 20)
model = runs["attention"][-1][0]
state = model.decoder.init_state(model.encoder(built[0], built[2]), built[2])
token = built[1][:, :1]
for t in range(data.num_steps):  # the same, step by step
    step_scores, state = model.decoder(token, state)
    token = step_scores.argmax(dim=2)
    torch.testing.assert_close(model.decoder.attention_weights[:, 0],
                               weights[:, t])
assert scores_of(labels).min() > 0.999
assert torch.equal(scores_of([""] * num_val), torch.zeros(num_val))
backward = [" ".join(reversed(label.split())) for label in labels]
assert scores_of(backward).mean() < 0.5  # all words are right, pairs not

# %% tags=["hide-input", "chaotic"]
negated = [s for s in sources if "not" in s.split()] or sources[:5]
five = [s for s in sources if len(s.split()) == 5] or sources
shown = [negated[0], five[0]]
attentive = [model for model, _ in runs["attention"]]
outs, srcs, weights = look(attentive[0], shown)
fig, axes = plt.subplots(1, len(shown), figsize=(7.2, 3.3),
                         layout="constrained")
for ax, out, src, matrix in zip(axes, outs, srcs, weights):
    n = src.index("<eos>") + 1
    matrix = matrix[:len(out), :n]
    ax.imshow(matrix.numpy(), cmap="Reds", vmin=0, vmax=1, aspect="auto")
    ax.grid(False)
    ax.set_xticks(range(n), src[:n], rotation=50, ha="right")
    ax.set_yticks(range(len(matrix)), out[:len(matrix)])
d2l.describe(fig, """Two heat maps: English tokens on the horizontal axis,
    the French tokens written on the vertical one. The weights move from left
    to right as the sentence is written, and are spread over two or three
    tokens.""")

# %% [markdown]
# **Figure 11.4.5.** Where one model looked while it wrote two translations of held-out sentences (seed 0).
#
# The weights move through the sentence, roughly from left to right, but they are no dictionary.
# A sharper question than a picture can answer: the word `not` becomes `ne … pas`.
# Is it seen when `pas` is written?

# %% tags=["rtol=0.3"]
def weight_on_not(model):
    """One row for each output with "ne" and "pas".

    The weights on "not" as "ne" and as "pas" is written, the same with the
    token after it, the even weight, and whether "not" was read second, "ne"
    written second and "pas" fourth.
    """
    rows = []
    for out, src, weights in zip(*look(model, negated)):
        if {"ne", "pas"} <= set(out) and "not" in src:
            k, (ne, pas) = src.index("not"), map(out.index, ("ne", "pas"))
            rows.append([*weights[[ne, pas], k].tolist(),
                         *weights[[ne, pas], k:k + 2].sum(dim=1).tolist(),
                         1 / (src.index("<eos>") + 1),
                         (k, ne, pas) == (1, 1, 3)])
    return torch.tensor(rows).reshape(-1, 6)


def weight_on_second(model):
    """Mean weight on the second token as words 2 and 4 are written.

    Over sentences without "not".
    """
    others = [s for s in sources
              if len(s.split()) > 4 and "not" not in s.split()] or sources
    outs, _, weights = look(model, others)
    written = torch.tensor([len(out) > 4 for out in outs])
    return weights[written][:, [1, 3], 1].mean(dim=0)


on_not = [weight_on_not(model) for model in attentive]
on_second = [weight_on_second(model) for model in attentive]
for k, rows in enumerate(on_not):
    ne, pas, ne_next, pas_next, even, usual = rows.mean(dim=0)
    print(f"seed {k}: on not as ne is written {ne:.2f}, as pas is written "
          f"{pas:.2f}; with the next token {ne_next:.2f} and "
          f"{pas_next:.2f}; even weights {even:.2f}\n        in {len(rows)} "
          f"of {len(negated)} outputs; usual places {usual:.2f}; without "
          f"not, on token 2: {on_second[k][0]:.2f}, {on_second[k][1]:.2f}")

# %%
if cpu_run and real:
    for rows, second in zip(on_not, on_second):
        ne, pas, ne_next, pas_next, even, usual = rows.mean(dim=0)
        assert ne > second[0] + 0.2 and pas > second[1] + 0.05
        assert second[1] < second[0] - 0.05
        assert len(rows) >= 30 and ne > pas + 0.05 and ne > 2 * even
        assert ne_next > pas_next + 0.03 and pas_next > 2 * even
        assert usual > 0.8
        assert (rows[:, :2] <= rows[:, 2:4]).all()

# %% [markdown]
# In all three seeds, the weight on `not` is higher as `ne` is written than as `pas` is, though a dictionary would pair `pas` with `not`.
# That holds, too, with the next token, whose state has just read `not`, and even at `pas` the two have more than their even share.
# One reading is that the negation is decided at `ne`, and the decoder's own state remembers that `pas` must follow.
# Another is plain order: in more than 80 % of these outputs, `not` is the second token read, `ne` the second written and `pas` the fourth, so a gaze that moves on from left to right would leave `not` behind by then.
# Sentences without `not` are a control: their second token, too, loses weight from the second word written to the fourth, but has less at both.
# So order may explain part of the fall, but not how much `not` is looked at; what the decoder's state remembers, the weights do not tell.
# Ghader and Monz (2017), too, found that attention differs from word alignment in some cases and holds other useful information.
#
# ## Today
#
# The decoder of a Transformer ([Section 11.7](07-transformer.ipynb)) keeps this part, with scaled dot products and several heads: queries from the decoder, keys and values from the encoder, now called *cross-attention*.
# It lives on in encoder-decoder models such as Whisper (2022) for speech; T5Gemma 2 (2025) merges it with the decoder's self-attention to save parameters.
# What Transformers dropped is the recurrence, and with it the loop over steps in training.
# The bottleneck is a topic again, as models with a fixed state came back for their low cost: Jelassi and others (2024) prove that these are limited in copying text by the size of their state, while a two-layer Transformer can copy strings of exponential length, and they find the same order among pretrained models.
#
# ## Summary
#
# - Attention replaces the one context of a sentence by a new one before each step, with the decoder's state before the step as the query.
# - The keys are projected once for each sentence; the loop over target steps remains, since each query depends on the context before it.
# - Reversing six to eight digits, attention was ahead of a plain model with six times the parameters at equal steps, and of one that read the mean of all states: the gain came from choosing among them; at these lengths the fixed state was a handicap, not a wall.
# - The alignment was learned from the loss alone, and with even weights the same models failed.
# - On a small corpus of short sentences, attention gave a lower loss and a higher BLEU in all three seeds at equal steps; from four tokens on, longer sources gained no more points than shorter ones; on average it still lost to a lookup.
# - `not` got more weight when `ne` was written than when `pas` was; other second tokens lose weight in the same way, so order may be part of the reason.

# %% [markdown]
# ## Exercises
#
# ### Exercise 11.4-1
#
# Replace both GRUs by LSTMs, whose state is a pair $(\mathbf{H},\mathbf{C})$.
# Which method of the attention decoder must change, and what should be the query?

# %% [markdown]
# #### Solution 11.4-1

# %% [markdown]
# `query`: `hidden[-1]` would be the cell state $\mathbf{C}$ of all layers.
# The output and the gates are computed from $\mathbf{H}$, so its top layer is the natural query; $\mathbf{C}$ would be possible, but can grow without bound.
# All else passes the state on unopened.

# %%
class LSTMEncoder(Seq2SeqEncoder):
    """The state is (H, C), each (layers, n, h)."""

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers):
        super().__init__(vocab_size, embed_size, num_hiddens, num_layers)
        self.rnn = nn.LSTM(embed_size, num_hiddens, num_layers)


class LSTMAttentionDecoder(Seq2SeqAttentionDecoder):
    """Attention with the top layer of H as the query."""

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers):
        super().__init__(vocab_size, embed_size, num_hiddens, num_layers)
        self.rnn = nn.LSTM(embed_size + num_hiddens, num_hiddens, num_layers)

    def query(self, hidden):
        H, _ = hidden
        return H[-1].unsqueeze(1)  # (n, 1, h)

# %% tags=["rtol=0.2"]
torch.manual_seed(0)
layers = 10, 8, 16, 2  # vocabulary, embedding, units, layers
lstm = Seq2Seq(LSTMEncoder(*layers), LSTMAttentionDecoder(*layers), 10, 0.01)
state = lstm.decoder.init_state(lstm.encoder(X, lens), lens)
H, C = state[1]
assert H.shape == C.shape == (2, 4, 16) and not torch.equal(H, C)
assert torch.equal(lstm.decoder.query((H, C))[:, 0], H[1])
at_once, pieces = lstm(X, Y, lens), []
for token in Y.split(1, dim=1):
    piece, state = lstm.decoder(token, state)
    pieces.append(piece)
torch.testing.assert_close(torch.cat(pieces, dim=1), at_once)
quick = train_reverser(LSTMAttentionDecoder, units, seed=0,
                       steps=reversal_steps // 4, encoder=LSTMEncoder)
print(f"three digits reversed: {share_reversed(quick, 3):.2f}")
assert not cpu_run or share_reversed(quick, 3) > 0.5

# %% [markdown]
# ### Exercise 11.4-2
#
# Use the scaled dot product as the score.
# How many parameters does that save?
# Compare the time of a forward pass, and train a translator for half of the epochs.

# %% [markdown]
# #### Solution 11.4-2

# %% [markdown]
# It saves $\mathbf{W}_q$, $\mathbf{W}_k$ and $\mathbf{w}_v$, $2h^2+h$ parameters; states of encoder and decoder must now match without a map between them.
# Times depend on the machine, so they are only printed; the two take turns, and the first round warms up.

# %% tags=["rtol=0.2"]
half = (max_epochs + 1) // 2
dotted, history = train_translator(Seq2SeqAttentionDecoder, 0, epochs=half,
                                   score="dot")
saved = count_params(attentive[0]) - count_params(dotted)
print(f"{saved} parameters less; after {half} epochs the loss is "
      f"{history['val_loss'][-1]:.2f}, additive "
      f"{losses['attention'][0, half - 1]:.2f}; BLEU-2 "
      f"{scores_of(translate(dotted, data, sources)).mean():.3f}")
assert saved == 2 * num_hiddens**2 + num_hiddens
assert len(history["val_loss"]) == half
if cpu_run and real:
    assert history["val_loss"][-1] < losses["plain"][:, half - 1].max()

# %% tags=["timing"]
batch = tuple(array[:100] for array in data.arrays)
rivals = {"additive": attentive[0], "dot product": dotted,
          "plain": runs["plain"][0][0]}
seconds = {name: [] for name in rivals}
with torch.no_grad():
    for _ in range(6):
        for name, model in rivals.items():
            begin = time.perf_counter()
            model(*batch[:3])
            seconds[name].append(time.perf_counter() - begin)
for name, times in seconds.items():
    print(f"{name}: {1000 * sorted(times[1:])[2]:.1f} ms")

# %% [markdown]
# One run at one rate is no comparison of the two scores.
# The plain decoder has no loop over steps; the times show what loop and attention cost together here.
#
# ### Exercise 11.4-3
#
# Give the model a bidirectional encoder whose states have the same width.
# What does $\mathbf{h}_1$ know now?
# Train it to reverse digits.

# %% [markdown]
# #### Solution 11.4-3

# %% [markdown]
# Two directions of half the width, side by side; the last states of both are joined to start the decoder.
# Now $\mathbf{h}_1$ depends on the whole source.

# %%
class BiEncoder(Seq2SeqEncoder):
    """Reads in both directions; outputs (T, n, h), state (layers, n, h)."""

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers):
        super().__init__(vocab_size, embed_size, num_hiddens, num_layers)
        self.rnn = nn.GRU(embed_size, num_hiddens // 2, num_layers,
                          bidirectional=True)
        self.apply(init_seq2seq)

    def forward(self, X, valid_len=None):
        outputs, state = super().forward(X, valid_len)
        return outputs, torch.cat((state[0::2], state[1::2]), dim=2)

# %% tags=["rtol=0.3"]
torch.manual_seed(0)
both_ways = BiEncoder(*layers)
H, last = both_ways(X, lens)
assert H.shape == (7, 4, 16) and last.shape == (2, 4, 16)
for row, n in enumerate(lens.tolist()):  # forward ends last, backward first
    torch.testing.assert_close(last[1, row, :8], H[n - 1, row, :8])
    torch.testing.assert_close(last[1, row, 8:], H[0, row, 8:])
changed = X.clone()
changed[:, -1] = (X[:, -1] + 1) % 10  # the last token; padding in rows 1 to 3
for enc, knows in ((both_ways, True), (encoder, False)):
    first, other = (enc(tokens, lens)[0][0] for tokens in (X, changed))
    assert torch.equal(first[1:], other[1:])
    assert torch.equal(first[0], other[0]) != knows
bi = train_reverser(Seq2SeqAttentionDecoder, units, seed=0,
                    steps=reversal_steps // 2, encoder=BiEncoder)
print(f"{count_params(bi)} parameters; three digits reversed: "
      f"{share_reversed(bi, 3):.2f}")
assert count_params(bi) < count_params(reversers["attention"][0])
assert not cpu_run or share_reversed(bi, 3) > 0.5

# %% [markdown]
# It has fewer parameters than the one-way encoder: two GRUs of half the width need less than one of the full width.
# One short run says that it learns, not which encoder is better.
#
# ### Exercise 11.4-4
#
# Let the decoder also attend to its own earlier states, $\mathbf{s}_0,\dots,\mathbf{s}_{t'-1}$.
# Show that no step sees a later one.

# %% [markdown]
# #### Solution 11.4-4

# %% [markdown]
# The state gets a fifth part, the states so far.
# No mask is needed in a loop, since the list contains only the past; the check changes the last token and looks for a change at any step before.

# %%
class RecallingDecoder(Seq2SeqAttentionDecoder):
    """Attends to the encoder's states, and to its own past ones."""

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers):
        super().__init__(vocab_size, embed_size, num_hiddens, num_layers)
        self.own = DotProductAttention()
        self.rnn = GRU(embed_size + 2 * num_hiddens, num_hiddens, num_layers)
        self.apply(init_seq2seq)

    def init_state(self, enc_all_outputs, enc_valid_lens=None):
        state = super().init_state(enc_all_outputs, enc_valid_lens)
        return *state, self.query(state[1])  # the past: (n, 1, h)

    def forward(self, X, state):
        values, hidden, valid_lens, keys, past = state
        outputs, self.weights = [], []
        for x in self.embedding(X.T):
            query = self.query(hidden)
            context = self.attention.pool(
                self.attention.score(query, keys), values, valid_lens)
            recalled = self.own(query, past, past)  # (n, 1, h)
            step = torch.cat((context, recalled, x.unsqueeze(1)), dim=2)
            out, hidden = self.rnn(step.transpose(0, 1), hidden)
            past = torch.cat((past, out.transpose(0, 1)), dim=1)
            outputs.append(out)
            self.weights.append(self.attention.attention_weights)
        scores = self.dense(torch.cat(outputs).transpose(0, 1))
        return scores, (values, hidden, valid_lens, keys, past)

# %% tags=["rtol=0.2"]
torch.manual_seed(0)
recalling = RecallingDecoder(*layers)
start = recalling.init_state(encoder(X, lens), lens)
at_once, end = recalling(Y, start)
assert end[4].shape == (4, 8, 16)
assert torch.equal(end[4][:, 0], encoder(X, lens)[1][1])
assert recalling.own.attention_weights.shape == (4, 1, 7)  # s_0 to s_6
state, pieces = start, []
for token in Y.split(1, dim=1):
    piece, state = recalling(token, state)
    pieces.append(piece)
torch.testing.assert_close(torch.cat(pieces, dim=1), at_once)
other = Y.clone()
other[:, -1] = (Y[:, -1] + 1) % 10
moved = (recalling(other, start)[0] - at_once).abs().amax(dim=(0, 2))
assert moved[:-1].max() == 0 and moved[-1] > 0.01
forgetful = (*start[:4], torch.zeros_like(start[4]))
assert (recalling(Y, forgetful)[0] - at_once).abs().max() > 1e-3
quick = train_reverser(RecallingDecoder, units, seed=0,
                       steps=reversal_steps // 4)
print(f"three digits reversed: {share_reversed(quick, 3):.2f}")
assert not cpu_run or share_reversed(quick, 3) > 0.5

# %% [markdown]
# Without the loop, a mask would have to hide the future; Section 11.7 builds that, and has no recurrence left to fall back on.
#
# ### Exercise 11.4-5
#
# Is a spread-out alignment a bad sign?
# Compare the entropy of the weights at right and at wrong digits, separately for each position.

# %% [markdown]
# #### Solution 11.4-5

# %% [markdown]
# The entropy is $-\sum_t\alpha_t\log\alpha_t$, 0 for one weight of 1 and $\log8\approx2.08$ for eight even ones.
# Positions must be separated, since both mistakes and entropy depend on the position.
# (With true inputs, so all steps count.)

# %% tags=["rtol=0.2"]
uncertain = []  # wrong minus right, for each seed and position
for k, (right, weights) in enumerate(looks[1:]):
    entropy = -torch.special.xlogy(weights, weights).sum(dim=2)  # (n, T')
    assert entropy.max() <= math.log(8) + 1e-5
    means = torch.stack([torch.stack((entropy[right[:, t], t].mean(),
                                      entropy[~right[:, t], t].mean()))
                         for t in range(8) if (~right[:, t]).sum() >= 20
                         and right[:, t].sum() >= 20] or [torch.zeros(2)])
    uncertain.append(means[:, 1] - means[:, 0])
    print(f"seed {k}: right {means[:, 0].mean():.2f}, wrong "
          f"{means[:, 1].mean():.2f} nats")
if cpu_run:
    assert min(gap.min() for gap in uncertain) > 0.03
    assert all(len(gap) >= 4 for gap in uncertain)

# %% [markdown]
# Yes, in these models: wherever there are enough mistakes to compare, the mean entropy is higher at wrong digits.
# It is a sign, not a cause: the same trouble may spoil the alignment and the digit.
#
# ## Sources
#
# - D. Bahdanau, K. Cho and Y. Bengio, Neural machine translation by jointly learning to align and translate, 2014, [arXiv:1409.0473](https://arxiv.org/abs/1409.0473).
# - K. Cho, B. van Merriënboer, D. Bahdanau and Y. Bengio, On the properties of neural machine translation: encoder-decoder approaches, 2014, [arXiv:1409.1259](https://arxiv.org/abs/1409.1259): quality against sentence length.
# - S. Wiegreffe and Y. Pinter, Attention is not not explanation, 2019, [arXiv:1908.04626](https://arxiv.org/abs/1908.04626): the claim of Jain and Wallace (2019), and tests for it, even weights among them.
# - H. Ghader and C. Monz, What does attention in neural machine translation pay attention to?, 2017, [arXiv:1710.03348](https://arxiv.org/abs/1710.03348).
# - S. Jelassi, D. Brandfonbrener, S. M. Kakade and E. Malach, Repeat after me: Transformers are better than state space models at copying, 2024, [arXiv:2402.01032](https://arxiv.org/abs/2402.01032).
# - Hugging Face, [Whisper](https://huggingface.co/docs/transformers/model_doc/whisper), 2022, and [T5Gemma 2](https://huggingface.co/docs/transformers/en/model_doc/t5gemma2), 2025: encoders and decoders of today.
