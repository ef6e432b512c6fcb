# ---
# jupyter:
#   d2l:
#     data: [time-machine, austen, tiny-shakespeare]
#     profiles:
#       gpu: {}
#       smoke:
#         max_text: 64000
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
# # 11.9 Large-scale pretraining with Transformers
#
# A translator learns from pairs of sentences, a classifier of reviews from labelled reviews, and each starts from nothing.
# Most text has no labels, but it can be made to supply its own: hide a part of it and predict that part.
# This section builds the three ways of hiding, counts what large models cost, and puts their scaling laws to a small test.
#
# **You will**
#
# - tell encoder-only, encoder-decoder and decoder-only models apart by mask, objective and use, and build the training examples of each;
# - build by hand two attention heads that continue a pattern never seen before;
# - compute parameters, operations and compute-optimal sizes, and find out how far these optima can be trusted;
# - route tokens to experts, retrieve facts, learn from preferences, and value several attempts.
#
# **Cost**: about ten seconds on a CPU; only tables of 15 numbers are trained by gradients, and nothing uses a GPU; a download of 5 MB, once.

# %%
import itertools
import math
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.attention_and_transformers import (
    MultiHeadAttention, TransformerDecoder, TransformerEncoder)
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.recurrent_neural_networks import (
    NgramLM, TextData, read_text)

d2l.use_style()

# %% tags=["parameters"]
max_text = 2_100_000  # characters of Austen for counting n-grams

# %% [markdown]
# ## From specialists to generalists
#
# Training a network for one task at a time makes *specialists*: each needs its own labels, and what one learns about English is lost to the next.
# *Pretraining* first trains one network on plain text, with a *self-supervised* objective whose labels come from the text itself; then the network is *adapted* to a task.
# ULMFiT (2018) did this with a recurrent language model, GPT (2018) with a Transformer decoder, BERT (2018) with an encoder.
# A model that takes on many tasks, each described in words, is a *generalist*.
#
# The Transformer of [Section 11.7](07-transformer.ipynb) offers three things to pretrain: its encoder, its decoder, or both.
# They differ in *who may see whom*.

# %% tags=["export"]
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

# %%
panels = {"encoder-only": attention_pattern("encoder", n_src=7),
          "encoder-decoder": attention_pattern("encoder-decoder", 4, 3),
          "decoder-only": attention_pattern("causal", n_tgt=7)}
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), layout="constrained")
for ax, (name, pattern) in zip(axes, panels.items()):
    ax.imshow(pattern, cmap="Blues", vmin=0, vmax=1.5)
    ax.set(title=name, xlabel="token seen (key)", xticks=range(7),
           yticks=range(7))
    ax.grid(False)
    for i in range(6):
        ax.axhline(i + 0.5, color="white", lw=1)
        ax.axvline(i + 0.5, color="white", lw=1)
axes[0].set_ylabel("token that sees (query)")
for draw_line in (axes[1].axhline, axes[1].axvline):
    draw_line(3.5, color="C1", lw=2)
d2l.describe(axes, """Three grids of seven by seven cells. Encoder-only: all
    filled. Encoder-decoder: a full block of four by four, below it a full
    block of three by four, to its right a triangle; the upper right block is
    empty. Decoder-only: the lower triangle with the diagonal.""")

# %% [markdown]
# **Figure 11.9.1.** Who sees whom among seven tokens.
# In the middle, the orange lines separate four source tokens from three target tokens: the encoder's self-attention is the upper left block, cross-attention the lower left one, and the decoder's self-attention the triangle.
#
# Decoder self-attention is called *causal*, in name only: nothing looks ahead, which says nothing about causes.
# The middle pattern also fits in a single stack.
# A *prefix* mask lets the first $n_s$ tokens see each other and makes the $n_t$ tokens behind them causal.

# %%
# check 11.9-C1: how many pairs see each other
for s, t in ((1, 1), (4, 3), (9, 20)):
    n = s + t
    blocks = s**2, t * s, t * (t + 1) // 2
    assert attention_pattern("encoder", n_src=n).sum() == n**2
    assert attention_pattern("causal", n_tgt=n).sum() == n * (n + 1) // 2
    both = attention_pattern("encoder-decoder", s, t)
    assert both[:s, :s].sum() == blocks[0] and not both[:s, s:].any()
    assert both[s:, :s].sum() == blocks[1]
    assert torch.equal(both[s:, s:], attention_pattern("causal", n_tgt=t))
    prefix = attention_pattern("prefix", s, t)
    assert prefix.sum() == sum(blocks) and torch.equal(prefix, both)
    assert prefix.dtype == torch.bool and prefix.shape == (n, n)

# %% [markdown]
# To see these patterns in a model, we change one token at a time and note which outputs move.
# Encoder-only and decoder-only need only one of the two stacks of Section 11.7: without cross-attention, a decoder block *is* an encoder block with a causal mask, here given as valid lengths.

# %%
def visible(run, tokens, vocab_size):
    """Whether output i moves when token j changes: booleans (n, n).

    `run` maps tokens (1, n) to outputs (1, n, d).
    """
    before, columns = run(tokens), []
    for j in range(tokens.shape[1]):
        changed = tokens.clone()
        changed[:, j] = (changed[:, j] + 1) % vocab_size
        columns.append((run(changed) != before).any(dim=-1)[0])
    return torch.stack(columns, dim=1)

# %%
torch.manual_seed(0)
sizes = dict(num_hiddens=16, ffn_num_hiddens=32, num_heads=2, num_blks=2,
             dropout=0.0)
encoder, decoder = TransformerEncoder(16, **sizes), TransformerDecoder(
    16, **sizes)  # 16 words, so both give 16 numbers for each token
tokens, lens = torch.randint(16, (1, 7)), torch.arange(1, 8).reshape(1, 7)

def two_stacks(tokens):
    memory = encoder(tokens[:, :4])
    scores, _ = decoder(tokens[:, 4:], decoder.init_state(memory))
    return torch.cat((memory, scores), dim=1)

runs = {("encoder", 7, 0): encoder,
        ("causal", 0, 7): lambda x: encoder(x, lens),
        ("prefix", 4, 3): lambda x: encoder(x, lens.clamp(min=4)),
        ("encoder-decoder", 4, 3): two_stacks}
with torch.no_grad():
    for kind, run in runs.items():
        assert torch.equal(visible(run, tokens, 16), attention_pattern(*kind))

# %% tags=["hide-input"]
# check: a kind that does not exist is refused
try:
    attention_pattern("decoder", 3, 3)
    raise AssertionError("an unknown kind was accepted")
except ValueError as error:
    assert "decoder" in str(error)

# %% [markdown]
# ![The sentence the small boat drifted home as three training examples. BERT reads it with a mask in place of small, whose label is small. T5 reads the X boat Y and predicts X small Y drifted home Z. GPT reads the small boat drifted and predicts small boat drifted home.](img/pretrain-objectives.svg)
#
# **Figure 11.9.2.** One sentence as a training example of the three kinds, without padding and separators; orange tokens are predicted, red ones stand for what was hidden.
#
# ## Encoder-only: BERT
#
# With full attention every token sees its neighbours on both sides, so its output can depend on all of its context.
# But then a token cannot be asked to predict its successor, which it sees.
# BERT (Devlin and others, 2018) hides tokens instead.
# *Masked language modelling* chooses a set $M$ of positions, 15 % of all, corrupts the text $\mathbf{x}$ there, and minimizes
#
# $$-\frac{1}{|M|}\sum_{i\in M}\log p_\theta(x_i\mid\tilde{\mathbf{x}}), \tag{11.9.1}$$
#
# where $\tilde{\mathbf{x}}$ is the corrupted text, $x_i$ the token that stood at position $i$, and $p_\theta$ the softmax over the vocabulary of the encoder's output at $i$.
# Of the chosen tokens 80 % become `<mask>`, 10 % a random token, and 10 % stay as they are.
# In use no `<mask>` occurs; with the last two kinds, the model cannot rely on it to know where a prediction is wanted.

# %% tags=["export"]
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

# %% [markdown]
# The label $-100$ is the one that `F.cross_entropy` ignores by default, so the mean in (11.9.1) runs over $M$ alone.

# %%
# check 11.9-C2: 15 % are chosen; of these 80 % masked, 10 % random, 10 % kept
rng = torch.Generator().manual_seed(92)
cls, sep, mask, vocab_size = 0, 1, 2, 1000
ids = torch.randint(3, vocab_size, (1000, 100), generator=rng)
ids[:, 0], ids[:, -1] = cls, sep
original = ids.clone()
inputs, labels = mask_tokens(ids, mask, vocab_size, (cls, sep),
                             generator=rng)
chosen, words = labels != -100, ids > mask
masked = inputs[chosen] == mask
kept = inputs[chosen] == ids[chosen]
shares = [x.float().mean().item() for x in (
    chosen[words], masked, ~masked & ~kept, kept)]
print("chosen, masked, random, kept:", *(f"{x:.3f}" for x in shares))
for share, target in zip(shares, (0.15, 0.8, 0.1, 0.1)):
    assert abs(share - target) < (0.004 if target == 0.15 else 0.01)
assert torch.equal(ids, original) and not chosen[~words].any()
assert torch.equal(labels[chosen], ids[chosen])
assert torch.equal(inputs[~chosen], ids[~chosen])

# %% tags=["hide-input"]
# check: random tokens come from the whole vocabulary, p counts, and the mean
rare = inputs[chosen][~masked & ~kept]
assert rare.min() < 20 and rare.max() > vocab_size - 20
assert rare.unique().numel() > 500
half = mask_tokens(ids, mask, vocab_size, p=0.5, generator=rng)[1]
assert abs((half != -100).float().mean() - 0.5) < 0.01
again = [mask_tokens(ids, mask, vocab_size, (cls, sep),
                     generator=rng.manual_seed(5))[0] for _ in range(2)]
assert torch.equal(*again) and not torch.equal(again[0], inputs)
pre_masked = torch.full((50, 50), mask)
assert (mask_tokens(pre_masked, mask, vocab_size)[1] == -100).all()
scores = torch.randn(200, vocab_size, generator=rng)
few_labels = labels[:2].flatten()
wanted = few_labels != -100
torch.testing.assert_close(
    F.cross_entropy(scores, few_labels),
    -scores.log_softmax(dim=1)[wanted, few_labels[wanted]].mean())

# %% [markdown]
# BERT-base has 110 million parameters, BERT-large 340 million.
# A second objective asked whether one sentence follows another; RoBERTa (2019) dropped it, trained longer on ten times the text, and did better with all its changes together.
#
# *Fine-tuning* adds a *head*, usually one linear layer, and continues training with labels, now of all weights.
# Each input begins with `<cls>`, whose output stands for the whole text:
#
# - a single text (is this review positive?) and a pair of texts, joined by `<sep>` (does one follow from the other?): a head on `<cls>`;
# - tagging (is this word a name?): the same head on each token;
# - question answering: two scores for each token of the passage, for the answer to begin or to end there.
#
# Among the relatives, ALBERT shares the parameters of its layers, DistilBERT is distilled from BERT, and ELECTRA detects replaced tokens, so each token gives a signal, not only 15 % of them.
# Encoders are still in use for retrieval and classification: ModernBERT (2024) has rotary positions, gated networks, attention that is local in most layers, and 8192 tokens of context.

# %% [markdown]
# ## Encoder-decoder: T5
#
# An encoder has one output for each input token, so on its own it can hardly write a text of another length.
# With the decoder it can, and pretraining becomes translation from damaged to intact text.
# BART (2019) tries several kinds of damage, among them shuffled sentences and removed spans.
# T5 (Raffel and others, 2019) removes spans, too, but predicts only these.
# Each removed span is replaced by a *sentinel*, and the target lists the sentinels, each followed by what it stands for:

# %% tags=["export"]
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

# %%
def rebuild(inputs, target):
    """The tokens from which `span_corrupt` made these."""
    hidden = {}
    for token in target:
        if token in SENTINELS:
            hidden[token] = span = []
        else:
            span.append(token)
    return [t for token in inputs for t in hidden.get(token, [token])]

boat = "the small boat drifted home".split()
inputs, target = span_corrupt(boat, [(1, 2), (3, 5)])
print(" ".join(inputs), "->", " ".join(target))

# %%
# check 11.9-C3: the example of Figure 11.9.2, and random spans undone
assert " ".join(inputs) == "the <X> boat <Y>"
assert " ".join(target) == "<X> small <Y> drifted home <Z>"
rng = torch.Generator().manual_seed(93)
for _ in range(200):
    text = torch.randint(50, (40,), generator=rng).tolist()
    ends = torch.randperm(41, generator=rng)[:10].sort().values
    spans = ends.reshape(5, 2).tolist()
    inputs, target = span_corrupt(text, spans)
    hidden = sum(end - start for start, end in spans)
    assert rebuild(inputs, target) == text
    assert len(inputs) == 40 - hidden + 5 and len(target) == hidden + 6
    assert inputs.count("<B>") == target.count("<B>") == 1  # the fifth
    assert target[-1] == "<C>" and "<C>" not in inputs

# %% tags=["hide-input"]
# check: spans that overlap, come in the wrong order, are empty or too long
for bad in ([(1, 3), (2, 4)], [(3, 4), (1, 2)], [(2, 2)], [(4, 6)]):
    try:
        span_corrupt(boat, bad)
        raise AssertionError(f"{bad} was accepted")
    except ValueError as error:
        assert "overlaps" in str(error)
assert span_corrupt(boat, []) == (boat, ["<X>"])
assert len(set(SENTINELS)) == 26
many = [(i, i + 1) for i in range(25)]  # as many as the sentinels allow
assert span_corrupt(list(range(25)), many)[1][-1] == SENTINELS[-1] == "<W>"
assert span_corrupt(boat, [(0, 1), (1, 5)])[0] == ["<X>", "<Y>"]
for count in (26, 27):
    try:
        span_corrupt(list(range(27)), [(i, i + 1) for i in range(count)])
        raise AssertionError(f"{count} spans were accepted")
    except ValueError as error:
        assert f"{count} spans" in str(error) and "25" in str(error)

# %% [markdown]
# The decoder then learns the target token by token, as in Section 11.7.
# For this purpose Raffel and others cleaned a crawl of the web into the corpus C4, and trained models of up to 11 billion parameters.
#
# *Fine-tuning* T5 needs no new layer.
# Every task is text to text: a prefix such as "translate English to German:" or "summarize:" says what is wanted, and the answer, of any length, is written; for a classifier it is the name of a class.
# One model can therefore learn many tasks at once (Exercise 11.9-1).

# %% [markdown]
# ## Decoder-only: GPT
#
# Without encoder and cross-attention a causal stack remains, and its objective is the language modelling of [Section 9.3](../09-recurrent-neural-networks/03-language-models.ipynb): each token predicts the next, so all tokens but one give a signal.
# The labels are the inputs, shifted.
# If only the answer to a prompt is to be learned, as in fine-tuning, the labels in the prompt are ignored:

# %% tags=["export"]
def shift_for_lm(ids, num_prompt=0):
    """Inputs and labels (n, steps - 1) for predicting the next of `ids`.

    Labels that belong to the first `num_prompt` tokens are -100.
    """
    labels = ids[:, 1:].clone()
    labels[:, :max(num_prompt - 1, 0)] = -100
    return ids[:, :-1], labels

# %%
ids = torch.tensor([[5, 6, 7, 8, 9]])
for prompt, expected in ((0, [6, 7, 8, 9]), (1, [6, 7, 8, 9]),
                         (3, [-100, -100, 8, 9])):
    inputs, labels = shift_for_lm(ids, prompt)
    assert inputs.tolist() == [[5, 6, 7, 8]] and labels.tolist() == [expected]
assert ids.tolist() == [[5, 6, 7, 8, 9]]

# %% [markdown]
# The series shows how adaptation changed while the objective stayed:
#
# - GPT (2018), 0.1 billion parameters, was fine-tuned for each task;
# - GPT-2 (2019), 1.5 billion parameters, normalization moved before each part of a block, 40 GB of text, was tested *zero-shot*, on tasks for which it got no example;
# - GPT-3 (2020), 175 billion parameters, layers that alternate between dense and locally banded sparse attention, 300 billion tokens, gets a description of the task with no, one or a few examples in its prompt (zero-, one- and *few-shot*). Its weights do not change; this is *in-context learning*.
#
# ![Left, fine-tuning: examples change all weights by gradient steps, and the changed network with a head answers; one set of weights for each task. Right, in-context learning: examples and question form one prompt, an unchanged network continues it; one set of weights for all tasks.](img/pretrain-adaptation.svg)
#
# **Figure 11.9.3.** Two ways to adapt a pretrained model.
#
# A causal mask has a price: no token of the prompt sees a later one, although all of them are there (Exercise 11.9-3).
# A prefix mask repairs that, at the cost of fewer tokens to learn from.
#
# ### Learning without a gradient
#
# How can fixed weights continue a pattern that they never met?
# Two heads in successive layers suffice to copy, and we can set their weights by hand.
# Each token carries its own identity and its position as one-hot vectors.
# A *previous-token head* looks one position back and notes which token it finds there.
# A *match head* then looks for positions whose note equals the current token, and copies the tokens that stand there.
# After "a b ... a" it answers "b".

# %%
def induction_head(tokens, vocab_size, sharpness=100.0):
    """Scores (n, steps, vocab_size) of the next token, without training.

    The first token of a sequence must not occur again: it has no
    predecessor, and notes itself.
    """
    steps = tokens.shape[1]
    token = F.one_hot(tokens, vocab_size).float()
    place = torch.eye(steps).expand(len(tokens), -1, -1)
    back = torch.diag(torch.ones(steps - 1), -1)  # position i to i - 1

    def head(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True,
                                              scale=sharpness)

    note = head(place @ back, place, token)  # which token came before
    return head(token, note, token)

# %% [markdown]
# The test: 50 sequences of 20 different random tokens, each behind a start token and written twice.
# The first copy is the control: nothing in it can be known.

# %%
# check 11.9-C8: tokens of a repeated random sequence, none ever trained on
rng = torch.Generator().manual_seed(98)
drawn = torch.stack([torch.randperm(999, generator=rng)[:20] + 1
                     for _ in range(50)])
tokens = torch.cat((torch.zeros(50, 1).long(), drawn, drawn), dim=1)
guess = induction_head(tokens, 1000).argmax(dim=-1)
first, second = (guess[:, a:b] == tokens[:, a + 1:b + 1]
                 for a, b in ((1, 20), (21, 40)))
print(f"first copy {first.sum()}/{first.numel()}, "
      f"second {second.sum()}/{second.numel()}")
assert second.numel() == 950 and second.all() and not first.any()
blunt = induction_head(tokens, 1000, sharpness=0.0)[:, 21:40]  # no matching
assert not (blunt.argmax(dim=-1) == tokens[:, 22:]).any()

# %% [markdown]
# With 5 different tokens instead of 999, the current token has occurred several times with different successors, and one token of context no longer decides.

# %%
few = torch.randint(1, 6, (50, 20), generator=rng)
tokens = torch.cat((torch.zeros(50, 1).long(), few, few), dim=1)
scores = induction_head(tokens, 6)
right = (scores.argmax(dim=-1)[:, 21:40] == tokens[:, 22:]).float().mean()
print(f"5 different tokens: {right:.0%} right")
assert 0.25 < right < 0.6  # chance: 0.2
for n, t in itertools.product(range(50), range(21, 40)):
    context = tokens[n, :t + 1].tolist()  # what a match head can count
    follow = [b for a, b in itertools.pairwise(context) if a == context[-1]]
    torch.testing.assert_close(
        scores[n, t], torch.tensor([follow.count(x) / len(follow)
                                    for x in range(6)]))

# %% [markdown]
# The scores are then a bigram model, counted in the prompt.
# Heads that do this, called *induction heads*, were found in trained Transformers; Olsson and others (2022) argue that they underlie in-context learning, with causal evidence for small attention-only models and correlational evidence for larger ones.
# How far this reaches is disputed: models whose loss left out the tokens that such copying predicts had fewer and weaker induction heads, but were as able on tasks whose answers are not in the prompt (Sahin and others, 2025).

# %% [markdown]
# ### Retrieval
#
# These heads know only their prompt.
# *Retrieval-augmented generation* (Lewis and others, 2020, with learned vectors) puts texts that it finds before the question.
# We rank 36 sentences by shared words, weighted by *inverse document frequency*: minus the log of the share that has the word.

# %%
countries = """Japan Tokyo Fuji yen, Turkey Ankara Ararat lira,
    Nepal Kathmandu Everest rupee, Poland Warsaw Rysy zloty,
    Iran Tehran Damavand rial, Georgia Tbilisi Shkhara lari,
    Armenia Yerevan Aragats dram, Albania Tirana Korab lek,
    Morocco Rabat Toubkal dirham, Russia Moscow Elbrus ruble,
    Tanzania Dodoma Kilimanjaro shilling, Ecuador Quito Chimborazo dollar"""
passages, quiz = [], []  # quiz: question, answer, place of the sentence
for row in countries.split(","):
    country, *answers = row.split()
    passages += [f"the capital of {country} is called {answers[0]}",
                 f"the highest mountain of {country} is called {answers[1]}",
                 f"in {country} money is called {answers[2]}"]
    quiz += [(f"what is the {what} of {country} called", answers[i],
              len(passages) - 3 + i) for what, i in (
        ("capital", 0), ("highest mountain", 1), ("money", 2),
        ("currency", 2))]  # the last word is in no passage
print(*passages[:3], *quiz[:4], sep="\n")

# %%
words = {w: i for i, w in enumerate(["<bos>", *sorted(
    set(" ".join(passages + [q for q, *_ in quiz]).split()))])}

def encode(text):
    return torch.tensor([words[w] for w in text.split()])

def bag(text):
    """Which words occur in a text: zeros and ones (len(words),)."""
    return F.one_hot(encode(text), len(words)).amax(dim=0).double()

bags = torch.stack([bag(p) for p in passages])  # (36, len(words))
idf = (len(bags) / bags.sum(dim=0).clamp(min=1)).log()

def retrieve(question, weights=idf):
    """Place of the passage with the largest weighted overlap."""
    return (bags @ (weights * bag(question))).argmax().item()

def answer_from(passage, question):
    """The word with which the two heads continue."""
    prompt = encode(f"<bos> {passage} {question}")[None]
    return list(words)[induction_head(prompt, len(words))[0, -1].argmax()]

# %%
# questions answered without a passage, with the best, and with a wrong one
found = [retrieve(q) for q, *_ in quiz]
rules = {"nothing": [""] * len(quiz), "best": [passages[i] for i in found],
         "wrong": [passages[(i + 3) % 36] for *_, i in quiz],  # next country
         "right": [passages[i] for *_, i in quiz]}
right = {name: [answer_from(p, q) == a for p, (q, a, _) in zip(ps, quiz)]
         for name, ps in rules.items()}
hits = [i == place for i, (*_, place) in zip(found, quiz)]
plain = [retrieve(q, torch.ones_like(idf)) == i for q, _, i in quiz]
print("right of 48:", *(f"{k} {sum(v)}," for k, v in right.items()),
      f"sentence found {sum(hits)}, without weights {sum(plain)}")

# %% tags=["hide-input"]
# check: as many answers as hits; only "currency" is missed, by copying
assert right["best"] == hits == ["currency" not in q for q, *_ in quiz]
assert len(quiz) == 48 and not any(right["nothing"] + right["wrong"])
assert all(right["right"]) and [sum(hits), sum(plain)] == [36, 24]
for i, passage, (question, answer, _) in zip(found, rules["best"], quiz):
    assert answer_from(passage, question) == passage.split()[-1]
    assert answer not in question.split()
    assert sum(bags[i][encode(question)] * idf[encode(question)]) == max(
        sum(b[encode(question)] * idf[encode(question)]) for b in bags)
assert idf[words["called"]] == 0 and bag("the the of").sum() == 2
less = torch.ones_like(idf).index_fill(0, encode("the of"), 0)
assert [retrieve(q, less) == i for q, _, i in quiz] == hits
torch.testing.assert_close(idf[encode("Japan capital of")].exp(),
                           torch.tensor([12, 3, 1.5]).double())

# %% [markdown]
# Plain counts stumble over "the" and "of"; no sentence has "currency".
# The heads copy whatever follows "called".

# %% [markdown]
# ## How large?
#
# The sizes that papers publish are enough to count the parameters of a model.
# With width $d$, $L$ blocks, hidden size $f$ of the position-wise network and a vocabulary $V$, a block of GPT-2 has $4d^2$ weights for attention and $2df$ for the network, hence $12d^2$ with the usual $f=4d$.
# Llama 3 8B has a *gated* network of three matrices, fewer heads for keys and values ([Section 11.5](05-multi-head-attention.ipynb)), no biases, and an output matrix of its own.

# %%
@dataclass
class Config:
    """Sizes of a Transformer of one stack; the defaults are GPT-2's kind.

    `positions` counts learned vectors of positions and segments, `kv_share`
    is key-value heads per query head; of `experts` networks a token uses
    `top_k`.
    """

    vocab: int
    d: int
    layers: int
    ffn: int
    positions: int = 0
    kv_share: float = 1
    bias: bool = True
    gated: bool = False
    tied: bool = True
    pooler: bool = False
    experts: int = 1
    top_k: int = 1

# %%
def param_count(c, active=False):
    """Parameters of a `Config`; with `active`, those that a token uses."""
    attention = round(2 * c.d * (1 + c.kv_share)) * (c.d + c.bias)
    hidden = c.ffn * (2 if c.gated else 1)  # outputs of the first matrices
    expert = (hidden + c.ffn) * c.d + (hidden + c.d) * c.bias
    router = c.d * c.experts if c.experts > 1 else 0
    block = attention + router + expert * (c.top_k if active else c.experts)
    norms = (2 * c.layers + 1) * c.d * (1 + c.bias)
    embedding = c.vocab * c.d * (1 if c.tied else 2) + c.positions * c.d
    return (embedding + c.layers * block + norms
            + (c.d * c.d + c.d) * c.pooler)

# %%
gpt2 = Config(50_257, 768, 12, 3072, positions=1024)
bert = Config(30_522, 768, 12, 3072, positions=512 + 2, pooler=True)
llama = Config(128_256, 4096, 32, 14_336, kv_share=8 / 32, bias=False,
               gated=True, tied=False)
mixtral = replace(llama, vocab=32_000, experts=8, top_k=2)
for name, c in (("GPT-2 small", gpt2), ("BERT-base", bert),
                ("Llama 3 8B", llama), ("Mixtral", mixtral)):
    print(f"{name:11} {param_count(c):14,} parameters, "
          f"{param_count(c, active=True):14,} for each token")

# %% [markdown]
# Real modules on the device `meta`, which have shapes but no memory, confirm the count:

# %%
# check 11.9-C4: one formula, four published models, and real modules
assert param_count(gpt2) == param_count(gpt2, active=True) == 124_439_808
assert param_count(bert) == 109_482_240  # its head for pretraining left out
assert param_count(llama) == 8_030_261_248
assert param_count(mixtral) == 46_702_792_704
assert param_count(mixtral, active=True) == 12_879_925_248
with torch.device("meta"):
    block = nn.TransformerEncoderLayer(768, 12, 3072, norm_first=True)
    module = nn.ModuleList((
        nn.Embedding(50_257, 768), nn.Embedding(1024, 768),
        nn.LayerNorm(768),
        nn.TransformerEncoder(block, 12, enable_nested_tensor=False)))
    part = MultiHeadAttention(4096, 32, num_kv_heads=8)
assert count_params(module) == param_count(gpt2)
third = 12 * (768 * 3072 + 3072)  # one more matrix, with biases, a block
assert param_count(replace(gpt2, gated=True)) == param_count(gpt2) + third
one, two = (param_count(replace(llama, layers=n)) for n in (1, 2))
assert two - one == count_params(part) + 3 * 4096 * 14_336 + 2 * 4096
assert abs(12 * 12 * 768**2 / (count_params(module[3])) - 1) < 0.01

# %% [markdown]
# Mixtral, whose name has "8x7B" in it, has far fewer than 56 billion parameters: only the networks are there eight times.
#
# ## What does it cost?
#
# In a linear layer each weight takes part in one multiplication and one addition for each token.
# The backward pass needs two such products, for the gradients of inputs and of weights.
# With $N$ parameters and $D$ tokens of training, the number of operations is thus
#
# $$C\approx6ND. \tag{11.9.2}$$
#
# It leaves out the scores of attention, which matter for long contexts ([Section 11.6](06-self-attention-and-positions.ipynb)), and counts embeddings that are only looked up.

# %% tags=["export"]
def train_flops(num_params, num_tokens):
    """Operations of training, 6 for each parameter and token."""
    return 6 * num_params * num_tokens

# %%
# check 11.9-C5: 6 for each weight and token, and three published models
layers = nn.Sequential(nn.Linear(64, 256, bias=False), nn.ReLU(),
                       nn.Linear(256, 64, bias=False))
X = torch.randn(10, 64, requires_grad=True)
with FlopCounterMode(display=False) as counter:
    layers(X).sum().backward()
assert counter.get_total_flops() == train_flops(count_params(layers), 10)
models = {"GPT-3": (175e9, 300e9), "Gopher": (280e9, 300e9),
          "PaLM": (540e9, 780e9), "Chinchilla": (70e9, 1.4e12),
          "Llama 3 8B": (8e9, 15e12),
          "DeepSeek-V3": (37e9, 14.8e12)}  # a token uses 37 of 671
for name, (N, D) in models.items():
    print(f"{name:11} {train_flops(N, D):.2e} operations, "
          f"{D / N:6.1f} tokens per parameter")
for name, cost, ratio in (("GPT-3", 3.15e23, 1.7), ("Gopher", 5.04e23, 1.1),
                          ("Chinchilla", 5.88e23, 20)):
    N, D = models[name]
    assert math.isclose(train_flops(N, D), cost) and abs(D / N - ratio) < 0.05

# %% [markdown]
# ## Scaling laws
#
# Kaplan and others (2020) trained Transformers of many sizes and found straight lines in doubly logarithmic plots of the test loss $L$:
#
# $$L\propto N^{-0.076},\qquad L\propto D^{-0.095},\qquad L\propto C^{-0.050}, \tag{11.9.3}$$
#
# the first two as long as nothing else is the bottleneck, the third with the best $N$ and $D$ for each $C$; embeddings are not counted.
# In their experiments larger models needed fewer tokens to reach the same loss.
#
# Models trained by counting let us look for such lines without a GPU: the smoothed n-grams of Section 9.3, with $\epsilon=5$.
# The last 10 % of *The Time Machine* are for validation, and the training text ends where they begin.

# %%
def ngram_scaling(train, val, m, sizes, max_order=6, eps=5.0):
    """Loss on `val` of orders 1, ..., max_order: (len(sizes), max_order).

    The models count the last n tokens of `train`, for each n of `sizes`;
    `m` is the number of different tokens.
    """
    return torch.stack([
        -NgramLM(max_order, m, eps).fit(train[-n:])
        .log_probs_by_order(val).mean(dim=1) for n in sizes])

def slope(sizes, losses):
    """Of log losses (n,) against log sizes, by least squares; a float."""
    x, y = (torch.as_tensor(v).double().log() for v in (sizes, losses))
    return (torch.cov(torch.stack((x, y)))[0, 1] / x.var()).item()

def straightness(x, y):
    """Squared correlation of x and y (n,): 1 for points on a line."""
    xy = torch.stack([torch.as_tensor(v).double() for v in (x, y)])
    return torch.corrcoef(xy)[0, 1].square().item()

torch.testing.assert_close(slope([1, 10, 1000], [8, 0.8, 0.008]), -1.0)
torch.testing.assert_close(straightness([0, 1, 3], [5, 3, -1]), 1.0)
torch.testing.assert_close(straightness([0, 1, 2], [0, 1, 1]), 0.75)

# %%
def split(name):
    """Nine tenths of a text, up to 100,000 tokens behind, vocabulary size."""
    corpus, vocab = TextData(name).build(read_text(name))
    cut = len(corpus) * 9 // 10
    return corpus[:cut][-max_text:], corpus[cut:][:100_000], len(vocab)

names = {"Wells": "time-machine", "Shakespeare": "tiny-shakespeare",
         "Austen": "austen"}
parts = {author: split(name) for author, name in names.items()}
real = all(d2l.fetch(name).source == "real" for name in names.values())
full_run = max_text >= 2_048_000
sizes = {author: [1000 * 2**i for i in range(12) if 1000 * 2**i <= len(train)]
         for author, (train, _, _) in parts.items()}
sizes["Wells"].append(len(parts["Wells"][0]))  # and all there is
losses = {author: ngram_scaling(*parts[author], sizes[author])
          for author in names}

# %% [markdown]
# More text is not only more: it is also other text.
# As a control, we put blocks of 1000 characters of the training text into random order, three times.

# %%
train, val, m = parts["Wells"]
mixed = []
for seed in range(3):
    rng = torch.Generator().manual_seed(seed)
    blocks = train.split(1000)
    order = torch.randperm(len(blocks), generator=rng)
    again = torch.cat([blocks[i] for i in order])
    assert torch.equal(again.sort().values, train.sort().values)
    mixed.append(ngram_scaling(again, val, m, sizes["Wells"]))
mixed = torch.stack(mixed)  # (3, sizes, orders)

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.1), sharey=True,
                                  layout="constrained")
d2l.plot(sizes["Wells"], list(losses["Wells"][:, 1:].T),
         [f"order {k}" for k in range(2, 7)],
         fmts=["o-", "s--", "^-.", "D:", "v-"], xscale="log", yscale="log",
         xlabel="characters counted", ylabel="loss (nats per character)",
         title="The Time Machine", ax=left)
d2l.plot([sizes[a] for a in names], [losses[a][:, 4] for a in names],
         list(names), fmts=["o-", "s--", "^-."], xscale="log", yscale="log",
         xlabel="characters counted", title="order 5", ax=right)
for curve in mixed:
    right.plot(sizes["Wells"], curve[:, 4], ".", color="C0", alpha=0.5)
for ax in (left, right):
    ax.set_yticks([1.25, 1.5, 2, 2.5], labels=["1.25", "1.5", "2", "2.5"])
    ax.minorticks_off()
d2l.describe((left, right), """Left: losses of orders 2 to 6 against the
    number of characters, both logarithmic. Order 2 falls little and becomes
    level, the higher orders fall nearly along straight lines and cross it.
    Right: order 5 for three texts; Wells falls nearly straight except for a
    steep last step, Austen, with the most text, bends and becomes flatter.""")

# %% [markdown]
# **Figure 11.9.4.** Loss of smoothed n-grams against the amount of text.
# Right: three texts; the small dots are *The Time Machine* in three random orders.

# %%
# check 11.9-C7: capacity limits order 2; order 5 falls along a line
book, all_sizes = losses["Wells"].exp(), sizes["Wells"]
same = all_sizes[:-1]  # 1000 to 128,000, for all texts
curves = {author: losses[author][:len(same), 4] for author in names}
slopes = {author: slope(same, curves[author]) for author in names}
shuffled = [slope(same, curve[:len(same), 4]) for curve in mixed]
print("perplexity, order 2:", *(f"{v:.1f}" for v in book[:, 1].tolist()))
print("            order 5:", *(f"{v:.1f}" for v in book[:, 4].tolist()))
print("slopes:", *(f"{a} {s:.3f}," for a, s in slopes.items()),
      "random orders", *(f"{s:.3f}" for s in shuffled))
if full_run and real:
    assert same[-1] == 128_000
    assert abs(slope(all_sizes, losses["Wells"][:, 4]) + 0.10) < 0.005
    assert abs(book[0, 1] - 11.5) < 0.06 and abs(book[-1, 1] - 9.6) < 0.06
    assert abs(book[0, 4] - 11.7) < 0.06 and abs(book[-1, 4] - 4.2) < 0.06
    assert book[0, 4] > book[0, 1] + 0.1 and all_sizes[4] == 16_000
    assert 0.98 < book[-1, 1] / book[4, 1] < 1  # from 16,000 on
    assert book[-1, 4] < 0.7 * book[4, 4]

# %%
runs = [*losses.values(), *mixed]  # three texts, three random orders
best = [(run.argmin(dim=1) + 1).tolist() for run in runs]
print("best orders:", *(f"{orders[0]} to {orders[-1]}," for orders in best),
      "order 5 less order 2 with 1000 characters:",
      *(f"{run[0, 4] - run[0, 1]:+.2f}" for run in runs))
log_n = torch.tensor(same).double().log()
fits = {author: (straightness(log_n, curve.log()),
                 straightness(log_n, curve))
        for author, curve in curves.items()}
for author, (power, logarithm) in fits.items():
    print(f"{author:11} straightness against log n: "
          f"log loss {power:.3f}, loss {logarithm:.3f}")
if full_run and real:
    assert all(orders == sorted(orders) and orders[0] == 3
               and orders[-1] in (5, 6) for orders in best)
    assert sum((run[0, 4] < run[0, 1]).item() for run in runs) == 4
    assert all(fits[a][0] > fits[a][1] + 0.005 for a in ("Wells", "Austen"))
    assert fits["Shakespeare"][1] > fits["Shakespeare"][0] + 0.001
    assert all(0.985 < fit < 0.999 for pair in fits.values() for fit in pair)

# %%
start = slope(sizes["Austen"][:6], losses["Austen"][:6, 4])
end = slope(sizes["Austen"][-6:], losses["Austen"][-6:, 4])
last = [slope(all_sizes[-2:], curve[-2:, 4])
        for curve in (losses["Wells"], *mixed)]
print(f"Austen, order 5: {start:.3f} at first, {end:.3f} at last")
print("Wells, last step:", *(f"{s:.2f}" for s in last))
if full_run and real:
    assert all(-0.12 < s < -0.08 for s in (*slopes.values(), *shuffled))
    assert slopes["Austen"] + 0.01 < slopes["Wells"] < (
        slopes["Shakespeare"] - 0.005)
    assert slopes["Austen"] / slopes["Shakespeare"] > 1.25
    assert -0.13 < start < -0.11 and -0.06 < end < -0.04
    assert losses["Austen"][-1].argmin() == 5
    assert slope(sizes["Austen"][-6:], losses["Austen"][-6:, 5]) < end - 0.01
    assert max(shuffled) - min(shuffled) > 0.005
    assert last[0] < -0.25 and -0.15 < min(last[1:])
    local = [slope(all_sizes[i:i + 2], losses["Wells"][i:i + 2, 4])
             for i in range(len(all_sizes) - 2)]
    assert -0.12 < min(local) < max(local) < -0.08
    smooth = ngram_scaling(train, val, m, [1000], eps=20.0).flatten()
    assert smooth[4] < smooth[1] - 0.1

# %% [markdown]
# At this $\epsilon$, we see four things that are worth asking of larger models.
#
# - *Capacity.* In *The Time Machine*, order 2 hardly improves after 16,000 characters. In all three texts and random orders the best of six orders rises from 3 with 1000 characters to 5 or 6: the best model grows with the data.
# - *A straight line?* In *The Time Machine*, order 5 loses about the same share of its loss with each doubling. But over so small a range a constant *share* differs little from a constant *amount*, which fits Shakespeare better. Two decades do not establish a power law.
# - *No constant.* Over the same sizes, Austen's exponent is at least a quarter above Shakespeare's, and even the order of blocks changes it. With over ten times the text, Austen's line bends for order 5, and less for order 6.
# - *Which text.* The last step in *The Time Machine* adds the beginning of the book and lowers the loss far more than the line says. In random order it does not.
#
# ## The best size for a budget
#
# For a fixed $C$ one can train a large model briefly or a small one for long.
# Hoffmann and others (2022) trained over 400 Transformers and summarized the losses by
#
# $$L(N,D)=E+\frac{A}{N^\alpha}+\frac{B}{D^\beta}. \tag{11.9.4}$$
#
# Here $E$ is a loss that no size removes, the second term is the price of a finite model, the third that of finite data; $A,B,\alpha,\beta>0$ are fitted.
# Insert $D=C/(6N)$ and set the derivative with respect to $N$ to zero: $\alpha AN^{-\alpha}=\beta BD^{-\beta}$, so
#
# $$N^*=G\left(\frac C6\right)^{\frac{\beta}{\alpha+\beta}},\qquad D^*=\frac{C}{6N^*},\qquad G=\left(\frac{\alpha A}{\beta B}\right)^{\frac1{\alpha+\beta}}. \tag{11.9.5}$$
#
# Kaplan and others had advised $N^*\propto C^{0.73}$; here the exponent is about one half.
# The new advice, about 20 tokens per parameter, came with Chinchilla, 70 billion parameters and 1.4 trillion tokens, which outperformed Gopher, four times as large, at a similar budget.
# But (11.9.4) with the constants printed in the paper gives another answer.
# Besiroglu and others (2024) fitted it again to data read off the figures: the first fit had stopped early, and rounding the exponents had biased it further.

# %% tags=["export"]
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

# %%
laws = {"printed": (1.69, 406.4, 0.34, 410.7, 0.28),
        "unrounded": (1.6934, 406.4, 0.3392, 410.7, 0.2849),
        "fitted again": (1.82, 482, 0.348, 2085, 0.366)}
budget = 5.76e23  # Gopher's, as Hoffmann and others give it; not 6ND
optima = {name: compute_optimal(budget, law) for name, law in laws.items()}
for name, (N, D) in optima.items():
    print(f"{name:12} {N / 1e9:3.0f} billion parameters, "
          f"{D / 1e12:.1f} trillion tokens, {D / N:3.0f} per parameter")

# %%
# check 11.9-C6: losses, optima, and a grid search that agrees
gopher, chinchilla = (scaling_loss(*models[name], laws["printed"])
                      for name in ("Gopher", "Chinchilla"))
assert abs(gopher - 1.993) < 5e-4 and abs(chinchilla - 1.937) < 5e-4
for name, N, D in (("printed", 32e9, 3.0e12), ("fitted again", 72e9, 1.3e12)):
    assert abs(optima[name][0] / N - 1) < 0.015
    assert abs(optima[name][1] / D - 1) < 0.025
grid = torch.logspace(9, 12, 30_001, dtype=torch.float64)
for name, law in laws.items():
    grid_losses = scaling_loss(grid, budget / (6 * grid), law)
    N, D = optima[name]
    assert abs(grid[grid_losses.argmin()] / N - 1) < 1e-3
    assert math.isclose(train_flops(N, D), budget)
    assert grid_losses.min() >= scaling_loss(N, D, law)
per_param = {name: D / N for name, (N, D) in optima.items()}
assert abs(per_param["fitted again"] - 18) < 1 and per_param["printed"] > 90
assert per_param["unrounded"] < 0.65 * per_param["printed"]
assert all(0.45 < law[4] / (law[2] + law[4]) < 0.52 for law in laws.values())

# %% [markdown]
# Rounding two exponents to two digits raises the ratio by more than half; the new fit agrees with the advice.
# To see how sure that is, we change both exponents by 5 %, about the standard error that Besiroglu and others give for each, and adjust $A$ and $B$ so both terms keep their values at one point $(N,D)$: at $(1,1)$, where $A$ and $B$ stay; at the smallest model and data of the fit; or amid them.

# %%
E, A, alpha, B, beta = law = laws["fitted again"]
anchors = {"(1, 1)": (1, 1), "smallest": (7e7, 5e9), "amid": (1e9, 5e10)}
spread = {name: [] for name in anchors}
for name, (n, d) in anchors.items():
    for a, b in itertools.product((0.95, 1, 1.05), repeat=2):
        moved = (E, A * n ** ((a - 1) * alpha), a * alpha,
                 B * d ** ((b - 1) * beta), b * beta)
        assert math.isclose(scaling_loss(n, d, moved),
                            scaling_loss(n, d, law))
        N, D = compute_optimal(budget, moved)
        spread[name].append(D / N)
    print(f"tokens per parameter, {name:8}",
          *(f"{r:5.1f}" for r in spread[name]))
    assert math.isclose(spread[name][4], per_param["fitted again"])
assert max(spread["(1, 1)"]) > 100 * min(spread["(1, 1)"])
for name, bound in (("smallest", 0.45), ("amid", 0.11)):
    assert all(abs(r / spread[name][4] - 1) < bound for r in spread[name])
assert max(spread["smallest"]) > 1.35 * spread["smallest"][4]
assert 7e7 ** (-0.05 * alpha) < 0.75  # of the smallest model in the fit

# %% [markdown]
# Held at $N=1$, far from any model, a slightly different exponent changes the second term by over a quarter for every model that was trained, and the ratios span a factor of over a hundred.
# Held amid the data they stay within about a tenth, at the smallest two fifths.
# So exponents mean little without their constants, and rounding them alone is dangerous.
# Still the ratio varies with the budget, and missing it has a price:

# %%
ratios = [D / N for N, D in (compute_optimal(C, law) for C in (1e18, 1e26))]
print(f"best ratio at 1e18 and 1e26 operations: {ratios[0]:.0f}, "
      f"{ratios[1]:.0f}")
assert ratios[0] > 1.5 * ratios[1]
power = -(alpha + beta) / (alpha * beta)  # C goes like (L - E)**power
for C in (1e19, budget):
    N, D = compute_optimal(C, law)
    lowest = scaling_loss(N, D, law)
    for f in (1 / 2, 2):
        loss = scaling_loss(N * f, D / f, law)
        part = ((loss - E) / (lowest - E)) ** power
        print(f"{C:.2e} operations, {f:3} of the best size: "
              f"+{loss - lowest:.4f} nats, worth {part:.0%} of the budget")
        assert abs(part - 5 / 6) < 0.015
        assert math.isclose(
            scaling_loss(*compute_optimal(part * C, law), law), loss)
        assert C < budget or 0.004 < loss - lowest < 0.006  # Gopher's

# %% [markdown]
# With Gopher's budget, half or twice the best size costs less than 0.006 nats by this formula.
# That looks flat, but at the best size the same loss takes a sixth fewer operations, for any budget.

# %% tags=["hide-input"]
law = laws["fitted again"]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2),
                                  layout="constrained")
budgets = [10.0**i for i in range(19, 25)]
best = [compute_optimal(C, law) for C in budgets]
for C, (N, D) in zip(budgets, best):
    around = N * torch.logspace(-1.2, 1.2, 50)
    left.plot(around, scaling_loss(around, C / (6 * around), law), "C0")
    left.annotate(f"$10^{{{round(math.log10(C))}}}$",
                  (around[-1], scaling_loss(around[-1], C / 6 / around[-1],
                                            law)), fontsize=8)
left.plot([N for N, _ in best], [scaling_loss(N, D, law) for N, D in best],
          "C1o--")
left.set(xscale="log", xlabel="parameters $N$", ylabel="loss (11.9.4)",
         xlim=(1e7, 1e13))
line = torch.logspace(9.5, 12, 50)
right.plot(line, 20 * line, "C1--", label="20 tokens per parameter")
for i, (name, (N, D)) in enumerate(models.items()):
    on_line = name == "Chinchilla"  # its label goes to the left
    right.plot(N, D, "C0o")
    right.annotate(name, (N, D), textcoords="offset points", fontsize=8,
                   xytext=(-7, 0) if on_line else (0, 6 if i % 2 else -13),
                   ha="right" if on_line else "center")
right.set(xscale="log", yscale="log", xlabel="parameters $N$",
          ylabel="tokens $D$", xlim=(3e9, 3e12), ylim=(7e10, 6e13))
right.legend(loc="lower right")
d2l.describe((left, right), """Left: six U-shaped curves of loss against
    parameters, one for each budget from 1e19 to 1e24 operations; a dashed
    line joins their minima, which move down and to the right. Right: models
    as points in the plane of parameters and tokens, with the line of 20
    tokens per parameter. Chinchilla is on it, GPT-3, Gopher and PaLM below,
    Llama 3 8B and DeepSeek-V3 far above.""")

# %% [markdown]
# **Figure 11.9.5.** Left: loss by (11.9.4), fitted again, along lines of equal operations (numbers at the curves), and the optima.
# Right: published models, DeepSeek-V3 with the parameters that a token uses.
#
# ## Large language models
#
# Gopher (2021), Chinchilla and PaLM (2022) had budgets of $10^{23}$ operations and more.
# Since then, many small models have been trained far above the line, like Llama 3 8B.
# DeepSeek-V3 lies there by the 37 billion parameters that a token uses; by all of its 671 billion it would be close to the line.
# The cheapest model to train is not the cheapest to use: a served token costs $2N$ operations, so with many users a smaller model, trained for longer, pays off (Sardana and others, 2023; Exercise 11.9-5).
# Among families of 2025 with open weights, OLMo also has open data and code; others are Llama, Qwen, DeepSeek, Gemma and gpt-oss.
#
# ### Mixture of experts
#
# A *mixture of experts* replaces the position-wise network by $E$ of them, and a *router* sends each token to $k$:
#
# $$\mathbf{y}=\sum_{e\in T(\mathbf{x})}g_e\,\mathrm{FFN}_e(\mathbf{x}),\qquad\mathbf{g}=\operatorname{softmax}\bigl((\mathbf{W}_r\mathbf{x})_{T(\mathbf{x})}\bigr). \tag{11.9.6}$$
#
# Here $E$ counts experts, $\mathbf{x},\mathbf{y}\in\mathbb{R}^d$ belong to one token, $\mathbf{W}_r\in\mathbb{R}^{E\times d}$ is the router and $T(\mathbf{x})$ the set of its $k$ highest scores.
# Parameters grow with $E$, work with $k$.

# %%
def moe_ffn(X, router, experts, k):
    """Outputs like X (tokens, d) of the k best experts for each token.

    `router` maps X to scores (tokens, experts). Also returns the choices
    (tokens, k).
    """
    scores, chosen = router(X).topk(k, dim=-1)  # (tokens, k)
    gates = scores.softmax(dim=-1)
    out = torch.zeros_like(X)
    for e, expert in enumerate(experts):
        row, place = (chosen == e).nonzero(as_tuple=True)
        out[row] += gates[row, place, None] * expert(X[row])
    return out, chosen

def balance_loss(scores):
    """E times the sum of share of tokens times mean probability (k = 1)."""
    num_experts = scores.shape[1]
    share = F.one_hot(scores.argmax(dim=-1), num_experts).float().mean(dim=0)
    return num_experts * share @ scores.softmax(dim=-1).mean(dim=0)

# %% [markdown]
# With $k=1$ the only gate in (11.9.6) is 1, and the router gets no gradient; Switch Transformers (2021) take the softmax over all experts instead.
# Nor does anything force a router to use all experts.
# So they add a multiple of the second function, $E\sum_ef_eP_e$, to the loss: $f_e$ is the share of tokens that go to expert $e$, and $P_e$ the mean of its probability.
# It is 1 for uniform routing, and $E$ if one expert gets every token with certainty.

# %%
# check 11.9-C9: experts mixed, work counted, balance; pass@k counted
torch.manual_seed(99)
X = torch.randn(40, 16)
experts = [nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
           for _ in range(8)]
router, seen = nn.Linear(16, 8, bias=False), []
for expert in experts:
    expert.register_forward_hook(lambda m, x, y: seen.append(len(x[0])))
with torch.no_grad():
    stacked = torch.stack([expert(X) for expert in experts])  # (8, 40, 16)
    equal, _ = moe_ffn(X, lambda X: X.new_zeros(len(X), 8), experts, k=8)
    torch.testing.assert_close(equal, stacked.mean(dim=0))
    seen.clear()
    out, chosen = moe_ffn(X, router, experts, k=2)
    assert sum(seen) == 2 * 40 and (chosen[:, 0] != chosen[:, 1]).all()
    assert torch.equal(chosen, router(X).argsort(descending=True)[:, :2])
    for t in range(40):
        gates = router(X[t])[chosen[t]].softmax(dim=0)
        torch.testing.assert_close(out[t], gates @ stacked[chosen[t], t])
for k, learns in ((1, False), (2, True)):  # one gate is always 1
    router.zero_grad()
    moe_ffn(X, router, experts, k)[0].square().sum().backward()
    assert (router.weight.grad.abs().max() > 1e-3).item() is learns
each = 100 * torch.eye(8).repeat(5, 1)
assert abs(balance_loss(each) - 1) < 1e-6
assert abs(balance_loss(100 * torch.eye(8)[[3] * 40]) - 8) < 1e-6
lopsided = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
mean = lopsided.softmax(dim=1).mean(dim=0)
assert abs(balance_loss(lopsided)
           - 2 * (2 / 3 * mean[0] + 1 / 3 * mean[1])) < 1e-6

# %% [markdown]
# ### After pretraining
#
# A pretrained model continues texts; it does not yet follow requests.
# *Instruction tuning* fine-tunes it on requests with good answers.
# *Reinforcement learning from human feedback* then trains it to give answers that score high with a reward model, which is fitted to human preferences (InstructGPT, 2022); direct preference optimization (2023), below, trains with neither reward model nor sampling.
# Where answers can be verified, as in mathematics and code, the verdict itself can be the reward: in DeepSeek-R1-Zero (2025), trained in this way without demonstrations, long chains of thought emerged.
# [Section 11.10](10-small-gpt.ipynb) runs adapters (LoRA), which train few weights.
#
# A second axis is compute *at test time*: several attempts.
# *pass@k* is the probability that at least one of $k$ attempts is right.
# If $c$ of $n\ge k$ attempts were right, it is estimated without bias by
#
# $$\mathrm{pass@}k=1-\binom{n-c}{k}\Big/\binom nk, \tag{11.9.7}$$
#
# the share of the subsets of $k$ attempts with a right one (Chen and others, 2021).

# %%
def pass_at_k(n, c, k):
    """Estimate of pass@k from c right answers among n >= k attempts."""
    return 1 - math.comb(n - c, k) / math.comb(n, k)

ten = [True] * 3 + [False] * 7
subsets = list(itertools.combinations(ten, 4))
assert math.isclose(pass_at_k(10, 3, 4), sum(map(any, subsets)) / len(subsets))
assert math.isclose(pass_at_k(10, 3, 4), 5 / 6) and pass_at_k(10, 7, 4) == 1
torch.manual_seed(10)
right = torch.distributions.Binomial(10, torch.tensor(0.3)).sample((20_000,))
unbiased = sum(pass_at_k(10, int(c), 4) for c in right) / 20_000
plug_in = (1 - (1 - right / 10) ** 4).mean().item()
print(f"true {1 - 0.7**4:.3f}, estimated {unbiased:.3f}, "
      f"plug-in {plug_in:.3f}")

# %%
chance = [math.comb(10, c) * 0.3**c * 0.7**(10 - c) for c in range(11)]
exact = [sum(p * estimate(c) for c, p in enumerate(chance)) for estimate in (
    lambda c: pass_at_k(10, c, 4), lambda c: 1 - (1 - c / 10) ** 4)]
assert abs(unbiased - exact[0]) < 0.01 and abs(plug_in - exact[1]) < 0.01
assert math.isclose(exact[0], 1 - 0.7**4) and exact[1] < exact[0] - 0.05

# %% [markdown]
# Inserting the share $c/n$ into $1-(1-p)^k$ underestimates it on average, since this function of $p$ is concave.
#
# pass@k needs someone who recognizes the right attempt: a test, or a scoring model that picks the best of $n$.
# Without one, *self-consistency* takes the most frequent answer.
# Take two questions with four possible answers: in the first the right one is the most probable, in the second it is not.

# %%
def vote(probs, n, draws=20_000):
    """Share of votes of n attempts that answer 0 wins; ties by lot."""
    counts = torch.distributions.Multinomial(n, probs).sample((draws,))
    winner = (counts + 0.5 * torch.rand(counts.shape)).argmax(dim=1)
    return (winner == 0).float().mean().item()

torch.manual_seed(11)
questions = {"most probable": torch.tensor([0.4, 0.2, 0.2, 0.2]),
             "second": torch.tensor([0.3, 0.5, 0.1, 0.1])}
attempts = [1, 3, 5, 9, 17, 33, 65]
votes = {name: [vote(p, n) for n in attempts] for name, p in questions.items()}
passes = {name: [1 - (1 - p[0].item()) ** n for n in attempts]
          for name, p in questions.items()}

# %% tags=["hide-input"]
ax = d2l.plot(attempts, [*votes.values(), *passes.values()],
              [f"{kind}, {name}" for kind in ("vote", "pass@n")
               for name in questions], fmts=["o-", "s-", "o--", "s--"],
              xscale="log", xlabel="attempts $n$", ylabel="share right")
ax.set_xticks(attempts, labels=attempts)
ax.minorticks_off()
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
d2l.describe(ax, """Four curves over 1 to 65 attempts. Both pass@n rise to 1.
    The vote rises to 1 if the right answer is the most probable and falls
    towards 0 if it comes second.""")

# %% [markdown]
# **Figure 11.9.6.** Several attempts, judged by a vote or by a perfect verifier; the right answer is the most probable one or the second.

# %%
good, bad = votes.values()
assert abs(good[0] - 0.4) < 0.015 and abs(bad[0] - 0.3) < 0.015
assert good == sorted(good) and good[-1] > 0.95
assert bad == sorted(bad, reverse=True) and bad[-1] < 0.05
for curve, p in zip(passes.values(), (0.4, 0.3)):
    assert abs(curve[0] - p) < 1e-6 and 0.999 < curve[-1] <= 1
    assert curve == sorted(curve)
exact = sum(math.prod(questions["most probable"][list(a)].tolist())
            * (1 if a.count(0) > 1 else 1 / 3 if len(set(a)) == 3 else 0)
            for a in itertools.product(range(4), repeat=3) if 0 in a)
assert abs(good[1] - exact) < 0.015  # three attempts, enumerated

# %% [markdown]
# ### Direct preference optimization (DPO)
#
# Maximizing the mean reward $r$ of a policy $\pi$ minus $\beta D_{\mathrm{KL}}(\pi\|\pi_\text{ref})$, where the *reference* $\pi_\text{ref}$ is its start, gives $\pi^*(y\mid x)=\pi_\text{ref}(y\mid x)\,e^{r(x,y)/\beta}/Z(x)$ for prompt $x$ and answers $y$; $Z$ normalizes.
# If $y_w$ beats $y_l$ with probability $\sigma(r(x,y_w)-r(x,y_l))$ (Bradley and Terry's model), solving for $r$ cancels $Z$ and leaves a loss on pairs (Rafailov and others, 2023):
#
# $$-\log\sigma\left(\beta\log\frac{\pi(y_w\mid x)}{\pi_\text{ref}(y_w\mid x)}-\beta\log\frac{\pi(y_l\mid x)}{\pi_\text{ref}(y_l\mid x)}\right). \tag{11.9.8}$$

# %%
def bradley_terry(reward):
    """Share of pairs in which answer i beats j: (prompts, n, n)."""
    n = reward.shape[-1]
    wins = (reward[..., :, None] - reward[..., None, :]).sigmoid()
    return wins * (1 - torch.eye(n).to(wins)) / math.comb(n, 2)

def closed_form(ref, reward, beta):
    """Policy with the largest mean reward minus beta times divergence."""
    return (ref.log() + reward / beta).softmax(dim=-1)  # divides by Z

def dpo(wins, ref, beta, steps=1000):
    """Policies after each step of minimizing (11.9.8) over a table.

    `wins` (..., prompts, n, n) weighs the pairs, with sum 1 per prompt.
    """
    logits = ref.log().expand(wins.shape[:-1]).clone().requires_grad_()
    optimizer, history = torch.optim.SGD([logits], lr=2 / beta**2), []
    for _ in range(steps):
        ratio = beta * (logits.log_softmax(dim=-1) - ref.log())
        margin = ratio[..., :, None] - ratio[..., None, :]
        optimizer.zero_grad()
        (-(wins * F.logsigmoid(margin)).sum()).backward()
        optimizer.step()
        history.append(logits.detach().softmax(dim=-1))
    return torch.stack(history)  # (steps, ..., prompts, n)

# %%
rng = torch.Generator().manual_seed(911)
ref_logits, reward = torch.randn(2, 3, 5, generator=rng).double()
ref, wins = ref_logits.softmax(dim=-1), bradley_terry(reward)
exact = {beta: dpo(wins, ref, beta) for beta in (0.5, 1.0, 100.0)}
torch.manual_seed(12)
num_pairs = [10, 100, 1000, 10_000]  # for each prompt, in 20 draws
drawn = torch.stack([
    torch.distributions.Multinomial(n, wins.flatten(-2)).sample((20,)) / n
    for n in num_pairs]).reshape(4, 20, 3, 5, 5)
sampled = dpo(drawn, ref, 1.0)  # (1000, 4, 20, 3, 5)

# %% tags=["hide-input"]
best = closed_form(ref, reward, 1.0)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0),
                                  layout="constrained")
places = torch.arange(5)
left.bar(places - 0.2, ref[0], 0.4, color="C0", alpha=0.4,
         label="reference")
left.bar(places + 0.2, best[0], 0.4, color="C0", label="closed form")
left.plot(places + 0.2, exact[1.0][-1, 0], "D", color="C1", label="DPO")
for policy in sampled[-1, 1, :3, 0]:  # of 100 pairs
    left.plot(places + 0.32, policy, "C4.", ms=5)
left.set(xlabel="answer to the first prompt", ylabel="probability")
left.legend(fontsize=8)
log_ratio = sampled.log() - ref.log()
spans = log_ratio.amax(dim=-1) - log_ratio.amin(dim=-1)  # (1000, 4, 20, 3)
steps = torch.arange(1, 1001)
ten = right.plot(steps, spans[:, 0, :3, 0], "C3--")
many = right.plot(steps, spans[:, 3, :3, 0], "C0")
right.set(xscale="log", xlabel="step", ylabel="range of log ratios")
right.legend([ten[0], many[0]], ["10 pairs", "10,000 pairs"])
d2l.describe((left, right), """Left: five pairs of bars, reference and closed
    form; a diamond, DPO, sits on top of each bar of the closed form, dots
    scatter around it. Right: range of log ratios against the logarithmic step.
    Three solid curves rise and become level together; three dashed curves go
    on rising.""")

# %% [markdown]
# **Figure 11.9.7.** Left: DPO with exact shares (diamonds) and from 100 pairs (dots).
# Right: range of $\log(\pi/\pi_\text{ref})$. Three draws each.

# %%
# check: DPO's optimum, exact and sampled; pairs that have none
for beta, history in exact.items():
    torch.testing.assert_close(history[-1], closed_form(ref, reward, beta))
errors = (sampled[-1] - best).abs().sum(dim=-1).mean(dim=(1, 2)) / 2
print("total variation to the closed form:", *(f"{e:.3f}" for e in errors))
assert -0.6 < slope(num_pairs[1:], errors[1:]) < -0.45  # n ** -0.5
assert errors[-1] < 0.012 and errors[0] > 0.3
beat = drawn > 0  # is there a chain of wins from each answer to another?
chain = torch.linalg.matrix_power(beat.double() + torch.eye(5), 4) > 0
unanswered = (beat & ~chain.mT).any(dim=-1).any(dim=-1)  # (4, 20, 3)
growth = spans[-1] - spans[499]
print("prompts with unanswered wins:", unanswered.sum(dim=(1, 2)).tolist())
assert growth[unanswered].min() > 0.5 and unanswered[0].float().mean() > 0.8
assert growth[~unanswered].abs().max() < 0.01 and not unanswered[2:].any()
assert unanswered[0, :3, 0].all()  # the dashed curves
fixed = (reward[..., :, None] > reward[..., None, :]).double() / 10
moved = (dpo(fixed, ref, 1.0)[[499, -1]] / ref).log()  # (2, 3, 5)
assert (moved.amax(dim=-1) - moved.amin(dim=-1)).diff(dim=0).min() > 1

# %% tags=["hide-input"]
# check: the maximum, a large beta, added constants, one step of training
def objective(policy, beta):
    """Mean reward minus beta times divergence, for each prompt."""
    return (policy * (reward - beta * (policy / ref).log())).sum(dim=-1)

for beta in exact:
    top = closed_form(ref, reward, beta)
    other = (top.log() + 0.1 * torch.randn(500, 3, 5)).softmax(dim=-1)
    assert (objective(other, beta) < objective(top, beta)).all()
    torch.testing.assert_close(  # beta log Z
        objective(top, beta), beta * (ref * (reward / beta).exp()).sum(
            dim=-1).log())
assert (best - ref).abs().max() > 0.5
assert (exact[100.0][-1] - ref).abs().max() < 0.01
shift = torch.tensor([[1.0], [-2.0], [30.0]])  # one for each prompt
torch.testing.assert_close(bradley_terry(reward + shift), wins)
torch.testing.assert_close(closed_form(ref, reward + shift, 1.0), best)
assert (bradley_terry(reward * 2) - wins).abs().max() > 0.01
torch.testing.assert_close(wins.sum(dim=(1, 2)), torch.ones(3).double())
torch.testing.assert_close(wins[0, 1, 2] / wins[0, 2, 1],
                           (reward[0, 1] - reward[0, 2]).exp())
torch.testing.assert_close(drawn.sum(dim=(-2, -1)),
                           torch.ones(4, 20, 3).double())
one_pair = torch.zeros(3, 5, 5).double()
one_pair[:, 0, 1] = 1  # the gradient of (11.9.8), where sigma is 1/2
first = dpo(one_pair, ref, 0.5, steps=1)[0].log() - ref.log()
torch.testing.assert_close(first[:, 0] - first[:, 1],
                           torch.full((3,), 2 / 0.5**2 * 0.5).double())

# %% [markdown]
# With exact shares DPO ends at the closed form; with $n\ge100$ pairs the error falls about as $1/\sqrt n$.
# Where no chain of wins leads back from loser to winner (most draws of ten pairs; also when the answer with the higher reward always wins), training drifts on despite the reference.

# %% [markdown]
# ### Open questions
#
# Some abilities seem to *emerge*: absent in small models, present in large ones, and so not predictable from the small (Wei and others, 2022).
# Schaeffer and others (2023) attribute much of this to the metric.
# An answer of ten tokens that must match exactly succeeds with $p^{10}$ if each is right with probability $p$ independently; steady progress in $p$ then looks like a jump.
#
# LLaDA (2025), a *diffusion language model* of 8 billion parameters, learns to undo masks at all rates, a relative of (11.9.1), and its authors report it competitive with Llama 3 8B in in-context learning.

# %% [markdown]
# ## Summary
#
# - Encoder-only, encoder-decoder and decoder-only models differ in who sees whom; a prefix mask gives one stack the visibility of two.
# - Their training examples are masked tokens, corrupted spans and shifted tokens; adaptation is by new heads, by task prefixes in text, or by examples in the prompt, without updates.
# - A previous-token head and a match head copy in context with fixed weights; when tokens repeat, they compute a bigram model of the prompt.
# - Parameters follow from the published sizes, and training costs about $6ND$ operations.
# - In counted n-grams, the best order rises with the text, and at order 5 the loss falls along nearly straight lines that depend on text and range; compute-optimal sizes come from such fits, whose exponents mean little without their constants.
# - Experts separate parameters from work; several attempts pay off with a verifier, and by a vote if the right answer is the most probable one.
# - Retrieval feeds fixed weights new facts, right or wrong; tabular DPO drifts on where wins stay unanswered.

# %% [markdown]
# ## Exercises
#
# ### Exercise 11.9-1
#
# Can one batch of T5 mix tasks, say span corruption and translation?
# Can a batch of GPT-2?
# Test both with small models of random weights: does the mixture change the loss of an example?

# %% [markdown]
# #### Solution 11.9-1

# %% [markdown]
# Yes, in both cases: the task is in the text, and all tasks have the same form and the same loss.
# What is needed is padding that changes nothing: valid lengths of the source, for the encoder and for cross-attention, and labels $-100$ behind the end.
# Causal self-attention needs no more, since padding behind the last token is in its future.
# So each example has the loss that it has alone.

# %%
def padded(rows, value):
    """Lists of different lengths as (n, longest), filled with `value`."""
    return nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], True, value)

def pair_losses(sources, targets):
    """Loss of each pair for the small T5 of this section: (n,)."""
    lens = torch.tensor([len(row) for row in sources])
    memory = encoder(padded(sources, 0), lens)
    inputs, labels = ([row[:-1] for row in targets],
                      [row[1:] for row in targets])
    scores, _ = decoder(padded(inputs, 0), decoder.init_state(memory, lens))
    return F.cross_entropy(scores.mT, padded(labels, -100),
                           reduction="none").sum(dim=1)

def text_losses(texts, num_prompt=2):
    """Loss of each text behind its prompt for the causal stack: (n,)."""
    inputs, labels = shift_for_lm(padded(texts, 0), num_prompt)
    for row, text in zip(labels, texts):
        row[len(text) - 1:] = -100
    lens = torch.arange(1, inputs.shape[1] + 1).expand(len(texts), -1)
    return F.cross_entropy(encoder(inputs, lens).mT, labels,
                           reduction="none").sum(dim=1)

# %%
torch.manual_seed(91)
sources, targets, texts = (
    [torch.randint(1, 16, (n,)).tolist() for n in lengths]
    for lengths in ((6, 2), (3, 5), (4, 7)))  # of one task and another
with torch.no_grad():
    together = pair_losses(sources, targets), text_losses(texts)
    alone = (torch.cat([pair_losses([s], [t])
                        for s, t in zip(sources, targets)]),
             torch.cat([text_losses([t]) for t in texts]))
    by_hand = -encoder(torch.tensor([texts[0][:-1]]), torch.tensor(
        [[1, 2, 3]])).log_softmax(dim=-1)[0, [1, 2], texts[0][2:]].sum()
torch.testing.assert_close(together, alone)
torch.testing.assert_close(together[1][0], by_hand)
assert min(loss.min() for loss in together) > 1

# %% [markdown]
# ### Exercise 11.9-2
#
# Where would you attach a classifier of whole texts to an encoder, and where to a decoder?
# What changes for texts of different lengths?

# %% [markdown]
# #### Solution 11.9-2

# %% [markdown]
# In an encoder every output sees the whole text, so any fixed place will do; BERT takes the first, `<cls>`, which exists in every text.
# In a decoder only the last output sees everything.
# The first sees itself alone, so a classifier there would know one token.
# With padding on the right, the last *real* token is at a different place in each text, and has to be picked by its length.

# %%
tokens, lens = torch.randint(16, (1, 7)), torch.arange(1, 8).reshape(1, 7)
with torch.no_grad():
    full = visible(encoder, tokens, 16)
    causal = visible(lambda x: encoder(x, lens), tokens, 16)
    both = padded([tokens[0, :3].tolist(), tokens[0].tolist()], 0)
    scores = encoder(both, lens.expand(2, -1))  # (2, 7, 16)
    picked = scores[torch.arange(2), torch.tensor([3, 7]) - 1]  # (2, 16)
    alone = encoder(tokens[:, :3], lens[:, :3])
print("an encoder's outputs see", full.sum(dim=1).tolist(),
      "tokens, a decoder's", causal.sum(dim=1).tolist())
assert full.all() and causal[-1].all() and causal[0].sum() == 1
assert causal.all(dim=1).sum() == 1
torch.testing.assert_close(picked[0], alone[0, -1])
assert torch.equal(picked[1], scores[1, -1])
assert (scores[0, -1] - alone[0, -1]).abs().max() > 0.01  # padding

# %% [markdown]
# ### Exercise 11.9-3
#
# A source of $n_s$ tokens is to be translated by a decoder-only model.
# Count the visible pairs that it lacks, compared with an encoder-decoder model, also as a share of the encoder's pairs.
# Do more layers bring them back?

# %% [markdown]
# #### Solution 11.9-3

# %% [markdown]
# Lacking are the pairs in which a source token would see a later source token, $n_s(n_s-1)/2$ of the encoder's $n_s^2$, a share that approaches one half.
# The target tokens see the whole source in both.
# More layers do not help the source: visibility composes along paths, and a path of steps to the past never leads to the future.
# In matrices, the product of causal patterns is causal.

# %%
shares = []
for s, t in ((2, 3), (10, 5), (100, 40)):
    both = attention_pattern("encoder-decoder", s, t)
    causal = attention_pattern("causal", n_tgt=s + t)
    lacking = both & ~causal
    assert lacking.sum() == s * (s - 1) // 2 and not (causal & ~both).any()
    assert not lacking[s:].any()
    shares.append(lacking.sum().item() / s**2)
    deep = torch.linalg.matrix_power(causal.double(), 4) > 0  # four layers
    assert torch.equal(deep, causal)
print("share of the encoder's pairs:", *(f"{x:.3f}" for x in shares))
assert shares == [0.25, 0.45, 0.495]

# %% [markdown]
# ### Exercise 11.9-4
#
# How many bytes does the key-value cache of a model with 32 layers and 32 heads of 128 numbers need for each token, in 16 bits?
# And with the 8 key-value heads of Llama 3 8B?
# When does the cache of one text become larger than the weights?

# %% [markdown]
# #### Solution 11.9-4

# %% [markdown]
# Keys and values, 32 layers, 32 heads, 128 numbers, 2 bytes: 524,288 bytes, half a megabyte for each token.
# With 8 heads it is a quarter.
# The weights of Llama 3 8B have 16 billion bytes in 16 bits, which the grouped cache reaches after about 120,000 tokens, in one text or in many texts served at once.

# %%
def cache_bytes(tokens, layers=32, kv_heads=32, size=128):
    """Bytes of keys and values in 16 bits."""
    return torch.empty(2, layers, kv_heads, tokens, size,
                       dtype=torch.bfloat16, device="meta").nbytes

weights = 2 * param_count(llama)
limit = weights / cache_bytes(1, kv_heads=8)
print(f"{cache_bytes(1):,} and {cache_bytes(1, kv_heads=8):,} bytes; "
      f"as large as the weights after {limit:,.0f} tokens")
assert cache_bytes(1) == 524_288 == 4 * cache_bytes(1, kv_heads=8)
assert cache_bytes(1000) == 1000 * cache_bytes(1) and 120e3 < limit < 125e3

# %% [markdown]
# ### Exercise 11.9-5
#
# Which model reaches Chinchilla's loss most cheaply, if it is to serve $S=10^{12}$ tokens after training, at $2N$ operations each?
# Use the law fitted again, and repeat for $10^{11}$ and $10^{13}$ tokens.

# %% [markdown]
# #### Solution 11.9-5

# %% [markdown]
# For each $N$ the loss fixes the tokens of training: $D=\bigl(B/(L-E-AN^{-\alpha})\bigr)^{1/\beta}$, if the bracket is positive; a smaller model cannot reach the loss at all.
# We minimize $6ND+2NS$ over a grid.
# The more is served, the smaller the best model and the more tokens per parameter it reads; at $10^{12}$ tokens it saves little, at $10^{13}$ about a quarter.
# This is extrapolation: the law was fitted to models with far fewer tokens per parameter, and Sardana and others (2023) find that such fits overestimate what additional tokens bring at extreme ratios.

# %%
def cheapest(served, law, loss):
    """Parameters, tokens and total operations of the cheapest model."""
    E, A, alpha, B, beta = law
    N = torch.logspace(9, 12, 20_001, dtype=torch.float64)
    N = N[A / N**alpha < loss - E]
    D = (B / (loss - E - A / N**alpha)) ** (1 / beta)
    cost = train_flops(N, D) + 2 * N * served
    i = cost.argmin()
    return N[i].item(), D[i].item(), cost[i].item()

law = laws["fitted again"]
goal = scaling_loss(*models["Chinchilla"], law)
found = {S: cheapest(S, law, goal) for S in (0, 1e11, 1e12, 1e13)}
saved = {}
for S, (N, D, cost) in found.items():
    saved[S] = 1 - cost / (train_flops(*models["Chinchilla"]) + 2 * 70e9 * S)
    print(f"{S:.0e} served: {N / 1e9:4.1f} billion parameters, "
          f"{D / N:4.0f} tokens each, {saved[S]:.0%} saved")
    assert math.isclose(scaling_loss(N, D, law), goal)

# %%
free, _, cost = found[0]
assert 0 <= saved[0] < 0.001 and 0.01 < saved[1e12] < 0.03
assert 0.2 < saved[1e13] < 0.3
assert abs(compute_optimal(cost, law)[0] / free - 1) < 0.005
best_N = [N for N, _, _ in found.values()]
assert best_N == sorted(best_N, reverse=True)
assert 1.2 * best_N[2] < free < 1.1 * best_N[1] and best_N[3] < free / 2
for served in (1e12, 1e13):  # neighbours on the grid cost more
    N, _, cost = found[served]
    for f in (0.9, 1.1):
        D = (law[3] / (goal - law[0] - law[1] / (f * N)**law[2])) ** (
            1 / law[4])
        assert 6 * f * N * D + 2 * f * N * served > cost

# %% [markdown]
# ### Exercise 11.9-6
#
# How many operations does one epoch of your model take?
# Count those of a translator of width 32 with two blocks on each side and 200 words in each language, for 512 pairs of 9 and 9 tokens, and compare with $6ND$.
# Why do they differ, and what happens for a wider model?

# %% [markdown]
# #### Solution 11.9-6

# %% [markdown]
# In (11.9.2) every parameter works for every token.
# In a translator the encoder's parameters see the source tokens only and the decoder's the target tokens, except that cross-attention computes keys and values from the source; so $D$ is the number of tokens of one side.
# Embeddings are looked up and cost nothing, and attention scores, left out of (11.9.2), add a little.
# For each token and each of the three maps of a pair of blocks, the scores and the mixing of $n$ values cost $4nd$ operations forward and twice as many backward, $12nd$ in all.
# With both corrections the count is exact; for a wide model the matrices outweigh them, and the ratio approaches 1.

# %%
def epoch(width, vocab_size=200, pairs=512, steps=9, num_blks=2):
    """Operations of an epoch: counted, by (11.9.2), and by a finer formula."""
    shape = dict(num_hiddens=width, ffn_num_hiddens=4 * width, num_heads=4,
                 num_blks=num_blks, dropout=0.0)
    with torch.device("meta"):
        enc = TransformerEncoder(vocab_size, **shape)
        dec = TransformerDecoder(vocab_size, **shape)
        tokens = torch.zeros(pairs, steps, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            state = dec.init_state(enc(tokens))
            dec(tokens, state)[0].sum().backward()
    params = [*enc.parameters(), *dec.parameters()]
    N = sum(p.numel() for p in params)
    matrices = sum(p.numel() for p in params if p.ndim == 2)
    matrices -= 2 * vocab_size * width  # embeddings
    scores = 12 * steps * width * 3 * num_blks  # three maps in each block
    tokens = pairs * steps
    return (counter.get_total_flops(), train_flops(N, tokens),
            train_flops(matrices, tokens) + scores * tokens)

# %%
ratios = {}
for width in (32, 128, 1024):
    counted, rough, fine = epoch(width)
    ratios[width] = counted / rough
    assert counted == fine
    print(f"width {width:4}: {counted:.2e} operations, "
          f"{ratios[width]:.2f} of 6ND")
assert 0.8 < ratios[32] < ratios[128] - 0.05 and 0.99 < ratios[1024] < 1

# %% [markdown]
# ## Sources
#
# - J. Howard and S. Ruder, *Universal language model fine-tuning for text classification* (2018), [arXiv:1801.06146](https://arxiv.org/abs/1801.06146).
# - J. Devlin et al., *BERT: pre-training of deep bidirectional Transformers for language understanding* (2018), [arXiv:1810.04805](https://arxiv.org/abs/1810.04805).
# - Y. Liu et al., *RoBERTa: a robustly optimized BERT pretraining approach* (2019), [arXiv:1907.11692](https://arxiv.org/abs/1907.11692); Z. Lan et al., ALBERT, 2019, [arXiv:1909.11942](https://arxiv.org/abs/1909.11942); V. Sanh et al., DistilBERT, 2019, [arXiv:1910.01108](https://arxiv.org/abs/1910.01108); K. Clark et al., ELECTRA, 2020, [arXiv:2003.10555](https://arxiv.org/abs/2003.10555); B. Warner et al., ModernBERT (2024), [arXiv:2412.13663](https://arxiv.org/abs/2412.13663).
# - M. Lewis et al., *BART* (2019), [arXiv:1910.13461](https://arxiv.org/abs/1910.13461); C. Raffel et al., *Exploring the limits of transfer learning with a unified text-to-text Transformer* (2019), [arXiv:1910.10683](https://arxiv.org/abs/1910.10683).
# - A. Radford et al., *Improving language understanding by generative pre-training* (2018), and *Language models are unsupervised multitask learners* (2019), reports of OpenAI; T. Brown et al., *Language models are few-shot learners* (2020), [arXiv:2005.14165](https://arxiv.org/abs/2005.14165).
# - C. Olsson et al., *In-context learning and induction heads* (2022), [arXiv:2209.11895](https://arxiv.org/abs/2209.11895); K. Sahin et al., *In-context learning without copying* (2025), [arXiv:2511.05743](https://arxiv.org/abs/2511.05743).
# - J. Kaplan et al., *Scaling laws for neural language models* (2020), [arXiv:2001.08361](https://arxiv.org/abs/2001.08361).
# - J. Hoffmann et al., *Training compute-optimal large language models* (2022), [arXiv:2203.15556](https://arxiv.org/abs/2203.15556); T. Besiroglu et al., *Chinchilla scaling: a replication attempt* (2024), [arXiv:2404.10102](https://arxiv.org/abs/2404.10102): both fits, and the unrounded constants.
# - N. Sardana et al., *Beyond Chinchilla-optimal: accounting for inference in language model scaling laws* (2023), [arXiv:2401.00448](https://arxiv.org/abs/2401.00448).
# - J. Rae et al., Gopher (2021), [arXiv:2112.11446](https://arxiv.org/abs/2112.11446); A. Chowdhery et al., PaLM (2022), [arXiv:2204.02311](https://arxiv.org/abs/2204.02311); Llama team, *The Llama 3 herd of models* (2024), [arXiv:2407.21783](https://arxiv.org/abs/2407.21783).
# - Qwen3, [arXiv:2505.09388](https://arxiv.org/abs/2505.09388); gpt-oss, [arXiv:2508.10925](https://arxiv.org/abs/2508.10925); OLMo 2, [arXiv:2501.00656](https://arxiv.org/abs/2501.00656): families with open weights.
# - W. Fedus, B. Zoph and N. Shazeer, *Switch Transformers* (2021), [arXiv:2101.03961](https://arxiv.org/abs/2101.03961); A. Jiang et al., *Mixtral of experts* (2024), [arXiv:2401.04088](https://arxiv.org/abs/2401.04088); DeepSeek-AI, *DeepSeek-V3 technical report* (2024), [arXiv:2412.19437](https://arxiv.org/abs/2412.19437).
# - L. Ouyang et al., InstructGPT (2022), [arXiv:2203.02155](https://arxiv.org/abs/2203.02155); R. Rafailov et al., *Direct preference optimization* (2023), [arXiv:2305.18290](https://arxiv.org/abs/2305.18290); DeepSeek-AI, *DeepSeek-R1* (2025), [arXiv:2501.12948](https://arxiv.org/abs/2501.12948).
# - P. Lewis et al., *Retrieval-augmented generation for knowledge-intensive NLP tasks* (2020), [arXiv:2005.11401](https://arxiv.org/abs/2005.11401).
# - M. Chen et al., *Evaluating large language models trained on code* (2021), [arXiv:2107.03374](https://arxiv.org/abs/2107.03374); X. Wang et al., *Self-consistency improves chain of thought reasoning in language models* (2022), [arXiv:2203.11171](https://arxiv.org/abs/2203.11171).
# - J. Wei et al., *Emergent abilities of large language models* (2022), [arXiv:2206.07682](https://arxiv.org/abs/2206.07682); R. Schaeffer, B. Miranda and S. Koyejo, *Are emergent abilities of large language models a mirage?* (2023), [arXiv:2304.15004](https://arxiv.org/abs/2304.15004).
# - S. Nie et al., *Large language diffusion models* (2025), [arXiv:2502.09992](https://arxiv.org/abs/2502.09992).
