# ---
# jupyter:
#   d2l:
#     data: [fra-eng, time-machine]
#     profiles:
#       gpu:
#         num_pairs: 6700
#         num_val: 500
#         num_hiddens: 256
#         max_epochs: 8
#         char_epochs: 10
#         num_gpus: 1
#       smoke:
#         num_pairs: 600
#         num_val: 30
#         num_hiddens: 32
#         max_epochs: 1
#         char_epochs: 1
#     rehearsal:
#       num_pairs: 0.1
#       num_val: 0.06
#       num_hiddens: 0.125
#       max_epochs: 0.125
#       char_epochs: 0.1
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
# # 10.8 Beam search
#
# A trained decoder gives a probability to every possible output, but there are far too many outputs to look at.
# Taking the most probable token at each step is fast and can miss the most probable sequence.
# *Beam search* follows several prefixes at once.
# This section builds it, checks it against exact search, and asks a question that is easily forgotten: is the most probable output the one we want?
#
# **You will**
#
# - write greedy, exhaustive and beam search once, for any step function, and test them against each other;
# - show by tables that greedy search can miss the optimum, and that a wider beam can do worse than a narrow one;
# - explain the bias towards short outputs and what the exponent $\alpha$ does about it;
# - measure, with an exact search on a small translation model, what finding more probable outputs does to BLEU;
# - draw from a distribution instead of searching it, and draw faster with the help of a cheaper model.
#
# **Cost**: about 40 seconds on a CPU; longer in the profile `gpu`, which trains larger models; a download of 3 MB.

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.modern_rnns import (
    MTFraEng, Seq2Seq, Seq2SeqDecoder, Seq2SeqEncoder, corpus_bleu, translate)
from d2l_helpers.chapters.recurrent_neural_networks import (
    RNN, RNNLM, TimeMachine, continue_text, fit_clipped)

d2l.use_style()

# %% tags=["parameters"]
num_pairs = 3000  # sentences for training each translation model
num_val = 300
num_hiddens = 64
max_epochs = 5
char_epochs = 3  # of the character model in Exercise 10.8-2
num_gpus = 0  # 1: use an accelerator, if there is one

# %% [markdown]
# ## What is to be found
#
# Let $\mathcal{Y}$ be the target vocabulary with $|\mathcal{Y}|$ tokens, `<eos>` among them, and $T'$ the largest length that we allow.
# A *candidate* is a sequence $\mathbf{y}=(y_1,\dots,y_L)$ that ends with its first `<eos>`, or has $L=T'$ tokens.
# Given the source, from which the encoder computed the context $\mathbf{c}$ ([Section 10.7](07-seq2seq.ipynb)), we look for
#
# $$\hat{\mathbf{y}}=\operatorname*{arg\,max}_{\mathbf{y}}\ \prod_{t=1}^{L}P(y_t\mid y_1,\dots,y_{t-1},\mathbf{c}). \tag{10.8.1}$$
#
# Here $P(y_t\mid\dots)$ is one entry of the decoder's softmax at step $t$, and the maximum is over all candidates.
# Nothing follows `<eos>`, so there are slightly fewer than $|\mathcal{Y}|^{T'}$ of them:
#
# $$\sum_{t=1}^{T'-1}(|\mathcal{Y}|-1)^{t-1}+(|\mathcal{Y}|-1)^{T'-1}\,|\mathcal{Y}|. \tag{10.8.2}$$
#
# The sum counts candidates that end early, at step $t$; the last term counts those with all $T'$ tokens.
# With four tokens and $T'=4$ these are $1+3+9+108=121$.
# With $10^4$ tokens and $T'=10$ they are almost $10^{40}$.
#
# To try searches on something that can be checked by hand, we write the probabilities into a table.
# All searches of this section talk to a model through a *step function*: it takes the last token of each of $b$ prefixes and a state, and returns log-probabilities $(b,|\mathcal{Y}|)$ and the next state.

# %%
class TableLM:
    """Next-token probabilities from a table.

    `table` maps prefixes such as "AB" to rows of probabilities, one for
    each of `symbols`, of which the last ends a sequence; rows of prefixes
    that are not listed are uniform. A state (b, t) holds the tokens read.
    """

    def __init__(self, table, symbols="ABCe"):
        self.symbols = symbols
        self.eos, self.bos = len(symbols) - 1, len(symbols)
        self.rows = {prefix: torch.tensor(row, dtype=torch.float64).log()
                     for prefix, row in table.items()}
        self.uniform = torch.full((len(symbols),), -math.log(len(symbols)),
                                  dtype=torch.float64)
        start = torch.empty(1, 0, dtype=torch.long)
        self.args = self.step, start, self.bos, self.eos

    def word(self, tokens):
        return "".join(self.symbols[i] for i in tokens)

    def step(self, tokens, state):
        state = torch.cat((state, tokens[:, None]), dim=1)  # bos is first
        rows = [self.rows.get(self.word(prefix[1:]), self.uniform)
                for prefix in state.tolist()]
        return torch.stack(rows), state

# %% [markdown]
# ## Greedy search
#
# *Greedy search* takes at step $t$
#
# $$y_t=\operatorname*{arg\,max}_{y\in\mathcal{Y}}\ P(y\mid y_1,\dots,y_{t-1},\mathbf{c}). \tag{10.8.3}$$
#
# It looks at $|\mathcal{Y}|\,T'$ token scores, $10^5$ in the example above.
# What it cannot do is give up a little now for more later:
#
# ![Two tables of next-token probabilities for A, B, C and end, one column per step. Left, greedy: A 0.5, B 0.4, C 0.4, end 0.6, product 0.048. Right, with C in place of B at step 2: A 0.5, C 0.3, B 0.6, end 0.6, product 0.054.](img/beam-tables.svg)

# %% [markdown]
# **Figure 10.8.1.** Left, greedy search: each column's largest probability is chosen.
# Right, the second best token at step 2 leads to other columns, and to a larger product.
#
# The example is that of *Dive into Deep Learning*.
# Sums of logarithms take the place of products, since the product of many small probabilities would underflow.

# %%
def greedy_search(step, state, bos, eos, max_len):
    """The most probable token at each step, and the sum of the logs."""
    tokens, total, last = [], 0.0, torch.tensor([bos])
    while len(tokens) < max_len and tokens[-1:] != [eos]:
        log_probs, state = step(last, state)
        best, last = log_probs.max(dim=1)
        tokens, total = tokens + last.tolist(), total + best.item()
    return tokens, total

# %%
lm = TableLM({"": [0.5, 0.2, 0.2, 0.1], "A": [0.1, 0.4, 0.3, 0.2],
              "AB": [0.2, 0.2, 0.4, 0.2], "ABC": [0, 0.2, 0.2, 0.6],
              "AC": [0.1, 0.6, 0.2, 0.1], "ACB": [0.1, 0.2, 0.1, 0.6]})
tokens, total = greedy_search(*lm.args, max_len=4)
print(lm.word(tokens), f"{math.exp(total):.3f}")

# %% [markdown]
# ## Exhaustive search
#
# The opposite extreme visits every candidate.
# It is the ruler by which we measure the others.

# %%
def exhaustive_search(step, state, bos, eos, max_len, alpha=0.75):
    """All candidates as `beam_search` returns them, best first."""
    done = []

    def extend(prefix, total, state):
        last = torch.tensor([prefix[-1] if prefix else bos])
        log_probs, state = step(last, state)
        for token, log_prob in enumerate(log_probs[0].tolist()):
            longer, score = prefix + [token], total + log_prob
            if token == eos or len(longer) == max_len:
                done.append((longer, score / len(longer)**alpha))
            else:
                extend(longer, score, state)

    extend([], 0.0, state)
    return sorted(done, key=lambda pair: -pair[1])

# %%
candidates = exhaustive_search(*lm.args, max_len=4, alpha=0)
probs = {lm.word(tokens): math.exp(total) for tokens, total in candidates}
print(len(probs), "candidates with total probability",
      round(sum(probs.values()), 6))
print({word: round(p, 3) for word, p in list(probs.items())[:5]})
assert len(probs) == 121 and abs(sum(probs.values()) - 1) < 1e-12

# %% [markdown]
# ACB`<eos>` is more probable than what greedy search found.
# But look at the top of the list: the most probable candidates of all are the shortest ones.
# We return to this below.
#
# ## Beam search
#
# Beam search with *beam size* $k$ keeps $k$ prefixes.
# At each step it extends all of them by all tokens and keeps the $k$ best of the $k\,|\mathcal{Y}|$ extensions; its origin lies in speech recognition, in the Harpy system of 1976 (Lowerre).
# An extension that is a candidate, because it ends with `<eos>` or has $T'$ tokens, is finished and leaves the beam.
#
# ![A tree over the tokens A to E with beam size 2. Of five first tokens A and C are kept. Of the ten extensions of A and C the prefixes AB and CE are kept. Of the ten extensions of AB and CE the prefixes ABD and CED are kept. All others are gray.](img/beam-walk.svg)

# %% [markdown]
# **Figure 10.8.2.** Beam size 2, five tokens, three steps.
# Six prefixes were kept: A, C, AB, CE, ABD and CED.
# What was pruned (gray) is never seen again, whatever its continuations are worth.
#
# In the end the best finished candidate wins.
# Candidates of different lengths are compared by the score
#
# $$s_\alpha(\mathbf{y})=\frac1{L^\alpha}\sum_{t=1}^{L}\log P(y_t\mid y_1,\dots,y_{t-1},\mathbf{c}), \tag{10.8.4}$$
#
# with $L$ the length and an exponent $\alpha\ge0$, often 0.75.
# The cost is $\mathcal{O}(k\,|\mathcal{Y}|\,T')$ token scores, and each step is one call of the model with a batch of $k$.
# The state must follow its prefix: after a step, the rows of the state are those of the *parents* of the prefixes that were kept.

# %% tags=["export"]
def keep_rows(state, parents):
    """Rows `parents` of a tensor, or of each tensor in a tuple or list."""
    if isinstance(state, torch.Tensor):
        return state[parents.to(state.device)]
    if isinstance(state, (tuple, list)):
        return type(state)(keep_rows(part, parents) for part in state)
    return state

# %% tags=["export"]
def beam_search(step, state, bos, eos, beam_size, max_len, alpha=0.75,
                reorder=None):
    """Sequences of high probability, best first: a list (tokens, score).

    `step(tokens, state)` takes the last tokens (b,) of b prefixes and a
    state and returns log-probabilities (b, vocab_size) and the next state;
    `reorder(state, parents)` keeps the rows `parents` (b,) of a state, by
    default of a tensor's first dimension, or of each in a tuple. A
    candidate ends with `eos` or has `max_len` tokens; its score is the sum
    of its log-probabilities over its length to the power `alpha`. `tokens`
    is a list without `bos`.
    """
    reorder = reorder or keep_rows
    tokens, total = torch.tensor([bos]), torch.zeros(1)
    prefixes, done = [[]], []
    while prefixes:
        log_probs, state = step(tokens, state)
        scores = total[:, None] + log_probs.cpu()  # (b, vocab_size)
        total, index = scores.flatten().topk(min(beam_size, scores.numel()))
        parents, tokens = index // scores.shape[1], index % scores.shape[1]
        longer = [prefixes[parent] + [token] for parent, token
                  in zip(parents.tolist(), tokens.tolist())]
        rows = []  # of those that go on
        for i, (prefix, score) in enumerate(zip(longer, total.tolist())):
            if score == -math.inf:
                continue
            if prefix[-1] == eos or len(prefix) == max_len:
                done.append((prefix, score / len(prefix)**alpha))
            else:
                rows.append(i)
        prefixes = [longer[i] for i in rows]
        total, tokens = total[rows], tokens[rows]
        state = reorder(state, parents[rows])
    return sorted(done, key=lambda pair: -pair[1])

# %% [markdown]
# With $k=1$ this is greedy search.
# Two details are choices.
# Finished candidates make the beam narrower, as in the attention model of Bahdanau et al. (2014); other implementations fill the beam up again.
# And within a step all extensions have the same length, so $\alpha$ decides only between finished candidates: for one search, any $\alpha$ can be tried afterwards.
#
# For the first check we forbid `<eos>` before step 4, by giving it the log-probability $-\infty$.

# %%
def forbid_end(step, eos, min_len):
    """A step function of a TableLM without `eos` before `min_len`."""
    def restricted(tokens, state):
        log_probs, state = step(tokens, state)
        if state.shape[1] < min_len:
            log_probs[:, eos] = -math.inf
        return log_probs, state
    return restricted

# %%
# check 10.8-C1: 0.048 and 0.054; greedy search misses the optimum
step, *rest = lm.args
full = forbid_end(step, lm.eos, min_len=4), *rest
found = {k: beam_search(*full, k, max_len=4, alpha=0) for k in (1, 2, 200)}
assert [lm.word(found[k][0][0]) for k in found] == ["ABCe", "ACBe", "ACBe"]
assert lm.word(greedy_search(*full, max_len=4)[0]) == "ABCe"
assert abs(math.exp(greedy_search(*full, max_len=4)[1]) - 0.048) < 1e-12
assert abs(math.exp(found[2][0][1]) - 0.054) < 1e-12
# with 200 places nothing is pruned; the row of ABC has one zero
assert len(found[200]) == 27 * 4 - 1
best = exhaustive_search(*full, max_len=4, alpha=0)[0]
assert lm.word(best[0]) == "ACBe"

# %% [markdown]
# The next figure draws the search tree from the calls that `beam_search` makes.

# %% tags=["hide-input"]
def trace(lm, k, max_len=4):
    """For each step a dict: extension -> (probability, kept or not)."""
    batches = []

    def spy(tokens, state):
        log_probs, state = step(tokens, state)
        batches.append(({lm.word(row[1:]) for row in state.tolist()},
                        {lm.word(row[1:]): probs.exp() for row, probs
                         in zip(state.tolist(), log_probs)}))
        return log_probs, state

    step, *rest = lm.args
    done = {lm.word(tokens) for tokens, _ in
            beam_search(spy, *rest, k, max_len, alpha=0)}
    steps, known = [], {"": 1.0}
    for i, (_, rows) in enumerate(batches):
        kept = done | (batches[i + 1][0] if i + 1 < len(batches) else set())
        extensions = {
            prefix + symbol: (known[prefix] * p, prefix + symbol in kept)
            for prefix, row in sorted(rows.items())
            for symbol, p in zip(lm.symbols, row.tolist())}
        known = {word: p for word, (p, _) in extensions.items()}
        steps.append(extensions)
    return steps


traces = {k: trace(lm, k) for k in (1, 2, 3)}
assert [[word for word, (_, kept) in part.items() if kept]
        for part in traces[2]] in (
    [["A", "B"], ["AB", "AC"], ["ABC", "ACB"], ["ABCe", "ACBe"]],
    [["A", "C"], ["AB", "AC"], ["ABC", "ACB"], ["ABCe", "ACBe"]])
assert [len(part) for part in traces[3]][:3] == [4, 12, 8]


def draw(fig, k, step):
    ax = fig.subplots()
    places = {"": (0, 0.5)}
    for t, part in enumerate(traces[int(k)][:int(step)], start=1):
        for i, (word, (p, kept)) in enumerate(part.items()):
            x, y = t, 1 - (i + 0.5) / len(part)
            places[word] = x, y
            px, py = places[word[:-1]]
            color = "C0" if kept else "0.65"
            ax.plot([px + 0.03, x - 0.03], [py, y], color=color,
                    lw=1.6 if kept else 0.6, zorder=1 + kept)
            label = word.replace("e", "<eos>") + f" {p:.3f}"
            ax.text(x + 0.03, y, label, va="center", fontsize=7,
                    color="black" if kept else "0.5",
                    weight="bold" if kept else "normal")
    ax.set(xlim=(-0.1, 4.85), ylim=(0, 1), xticks=range(1, 5),
           xlabel="step", yticks=[])
    ax.grid(visible=False)


d2l.sliders(draw, """A tree that grows to the right with each step. Extensions
    that the beam keeps are bold with coloured edges, pruned ones gray; each
    carries its probability.""", figsize=(6.4, 3.4), k=[1, 2, 3],
    step=[1, 2, 3, 4])

# %% [markdown]
# **Figure 10.8.3.** The search in the table above, step by step, for beam sizes 1, 2 and 3.
# With $k=1$ AC is pruned at step 2; with $k=2$ it survives and wins.
# With $k=3$ A`<eos>` finishes at step 2, which leaves two places in the beam.

# %% [markdown]
# ## Checked against exact search
#
# One example proves little.
# We draw tables at random and compare: $k=1$ with greedy search, and a beam from which nothing is ever pruned with the list of all candidates.

# %%
def random_lm(rng):
    """A TableLM with random rows for up to three of A, B, C."""
    prefixes = ["".join(letters) for n in range(4)
                for letters in itertools.product("ABC", repeat=n)]
    weights = torch.rand(len(prefixes), 4, generator=rng,
                         dtype=torch.float64)**2
    rows = weights / weights.sum(dim=1, keepdim=True)
    return TableLM(dict(zip(prefixes, rows.tolist())))


rng = torch.Generator().manual_seed(108)
lms = [random_lm(rng) for _ in range(400)]

# %%
# check 10.8-C3: equal to greedy search and to exhaustive search
def same(one, other):
    return one[0] == other[0] and abs(one[1] - other[1]) < 1e-9


for lm_i in lms[:200]:
    greedy = greedy_search(*lm_i.args, max_len=4)
    assert same(beam_search(*lm_i.args, 1, 4, alpha=0)[0], greedy)
    every = exhaustive_search(*lm_i.args, max_len=4)
    assert len(every) == 121
    assert same(beam_search(*lm_i.args, 36, 4)[0], every[0])
for lm_i in lms[:20]:
    every = exhaustive_search(*lm_i.args, max_len=4)
    assert all(map(same, beam_search(*lm_i.args, 108, 4), every))
    assert len(beam_search(*lm_i.args, 108, 4)) == 121
print("beam size 1 is greedy, 36 finds the best, 108 finds all")

# %% tags=["hide-input"]
# check: the promises of `beam_search` and `keep_rows`
for lm_i in lms[:20]:
    for k in (1, 2, 3, 7):
        raw = beam_search(*lm_i.args, k, 4, alpha=0)
        default = beam_search(*lm_i.args, k, 4)
        again = sorted(((t, s / len(t)**0.75) for t, s in raw),
                       key=lambda pair: -pair[1])
        assert all(map(same, default, again)) and len(default) == len(again)
        assert len(raw) <= 4 * k
        table = dict((tuple(t), s) for t, s in exhaustive_search(
            *lm_i.args, max_len=4, alpha=0))
        for tokens, score in raw:
            assert isinstance(tokens, list) and lm_i.bos not in tokens
            assert abs(table[tuple(tokens)] - score) < 1e-9
            assert tokens[-1] == lm_i.eos or len(tokens) == 4
    kept = {max_len: beam_search(*lm_i.args, 2, max_len)
            for max_len in (1, 2, 3)}
    assert all(len(t) <= n for n, part in kept.items() for t, _ in part)
a, b = torch.arange(3), torch.arange(6).reshape(3, 2)
rows = torch.tensor([2, 0, 0])
first, (second, third) = keep_rows((a, [b, "x"]), rows)
assert first.tolist() == [2, 0, 0] and third == "x"
assert second.tolist() == [[4, 5], [0, 1], [0, 1]]
parents = []
beam_search(*lms[0].args, 2, 4, reorder=lambda state, rows: (
    parents.append(rows.tolist()), state[rows])[1])
assert all(len(rows) <= 2 for rows in parents) and len(parents) == 4
certain = TableLM({"": [1.0, 0, 0, 0], "A": [0, 0, 0, 1.0]})
assert [(t, s) for t, s in beam_search(*certain.args, 5, 4)] == [([0, 3], 0)]

# %% [markdown]
# Between the two extremes, a wider beam finds the most probable candidate in more of the tables:

# %%
# check 10.8-C4: on random tables the optimum is found more often
optima = [exhaustive_search(*lm_i.args, max_len=4, alpha=0)[0]
          for lm_i in lms]
share = {k: sum(same(beam_search(*lm_i.args, k, 4, alpha=0)[0], best)
                for lm_i, best in zip(lms, optima)) / len(lms)
         for k in (1, 2, 3, 4, 9)}
print({k: f"{value:.1%}" for k, value in share.items()})
assert share[1] < 0.6 < share[2] < share[3] < share[4] <= share[9]
assert share[2] - share[1] > 0.2 and share[9] > 0.99

# %% [markdown]
# That is a statement about many tables, not about each of them.
# In the next one, greedy search does better than a beam of two.
# The prefix AC, with probability 0.175, would end for certain, but two extensions of B push it out.

# %%
# check 10.8-C5: a wider beam can find something less probable
trap = TableLM({"": [0.5, 0.4, 0.05, 0.05], "A": [0.2, 0.25, 0.35, 0.2],
                "B": [0.5, 0.5, 0, 0], "AC": [0, 0, 0, 1.0],
                "BA": [0.3, 0.3, 0.2, 0.2], "BB": [0.3, 0.3, 0.2, 0.2]})
top = {k: math.exp(beam_search(*trap.args, k, 3, alpha=0)[0][1])
       for k in (1, 2, 3)}
print({k: round(p, 3) for k, p in top.items()})
assert [round(p, 9) for p in top.values()] == [0.175, 0.06, 0.175]
assert same(beam_search(*trap.args, 3, 3, alpha=0)[0],
            exhaustive_search(*trap.args, max_len=3, alpha=0)[0])

# %% [markdown]
# ## The length of the output
#
# Every further token multiplies the probability by a factor of at most 1.
# A longer candidate therefore starts with a handicap: in our first table `<eos>` alone and A`<eos>` have probability 0.1 each, and ACB`<eos>` has 0.054.
# Dividing by $L^\alpha$ in (10.8.4) counters this.
# The sum is negative, so dividing it by a number above 1 moves it *up*, the more so the longer the candidate: $\alpha$ is often called a length penalty, yet it favors long outputs.

# %%
# check 10.8-C2: the exponent reverses the order
scores = {alpha: {lm.word(tokens): score for tokens, score in
                  exhaustive_search(*lm.args, max_len=4, alpha=alpha)}
          for alpha in (0, 0.75, 1.5)}
words = ["ACBe", "ABCe", "Ae", "e"]
for alpha in (0, 0.75):
    print(alpha, {word: round(scores[alpha][word], 3) for word in words})
for alpha, expected in ((0, [-2.919, -3.037, -2.303, -2.303]),
                        (0.75, [-1.032, -1.074, -1.369, -2.303])):
    assert [round(scores[alpha][word], 3) for word in words] == expected
assert max(scores[0.75], key=scores[0.75].get) == "ACBe"

# %% tags=["hide-input"]
lengths = range(1, 5)
curves = [[max(s for word, s in scores[alpha].items() if len(word) == n)
           for n in lengths] for alpha in scores]
ax = d2l.plot(lengths, curves, [rf"$\alpha={alpha}$" for alpha in scores],
              xlabel="length of the candidate", ylabel="best score",
              fmts=("o-", "s--", "^:"))
ax.set_xticks(lengths)
d2l.describe(ax, """Best score for each length. Without normalization lengths
    1 and 2 are equal and best; with alpha 0.75 and with 1.5 the best
    candidate has length 4.""")
assert [max(curve) == curve[-1] for curve in curves] == [False, True, True]
assert abs(curves[0][0] - curves[0][1]) < 1e-12 < curves[0][0] - curves[0][3]

# %% [markdown]
# **Figure 10.8.4.** The best score among candidates of each length in the first table.
# Only without normalization do short candidates win.

# %% [markdown]
# ## On a translation model
#
# Now to a model that was trained.
# We take the pronoun sentences of [Section 10.5](05-machine-translation-data.ipynb) and the model of [Section 10.7](07-seq2seq.ipynb), smaller and on fewer sentences, so that three can be trained.
# An adapter turns its decoder into a step function, and a loop feeds it one sentence after another, in evaluation mode and without gradients.
# The decoder's state is a pair, the context $(b,h)$ and the hidden state $(\text{layers},b,h)$ with $h$ units, so the beams are rows of the first but columns of the second.

# %%
def decoder_step(decoder):
    """A step function of a `Seq2SeqDecoder`."""
    device = next(decoder.parameters()).device

    def step(tokens, state):
        scores, state = decoder(tokens[:, None].to(device), state)
        return scores[:, -1].log_softmax(dim=1), state  # (b, vocab_size)
    return step


def reorder(state, rows):
    context, hidden = state
    rows = rows.to(context.device)
    return context[rows], hidden[:, rows]


def search_each(model, data, sentences, search):
    """What `search(step, state)` returns for each sentence."""
    device = next(model.parameters()).device
    src, _, valid_len, _ = d2l.to_device(
        data.build(sentences, [""] * len(sentences)), device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        context, hidden = model.decoder.init_state(
            model.encoder(src, valid_len))
        found = [search(decoder_step(model.decoder),
                        (context[i:i + 1], hidden[:, i:i + 1]))
                 for i in range(len(sentences))]
    model.train(was_training)
    return found

# %%
data = MTFraEng(64, num_train=num_pairs, num_val=num_val, subset="pronoun")
real = data.source == "real"
full_run = num_pairs >= 3000 and max_epochs >= 5 and num_val >= 300
bos, eos = data.tgt_vocab["<bos>"], data.tgt_vocab["<eos>"]
max_len = data.num_steps
sentences = [" ".join(src[:-1]) for src, _ in data.pairs[num_pairs:]]


def beams(model, sentences, k):
    """Lists of candidates and log-probabilities, one for each sentence."""
    return search_each(model, data, sentences, lambda step, state: (
        beam_search(step, state, bos, eos, k, max_len, 0, reorder)))


def text(tokens):
    """Tokens without "<eos>", as a string."""
    return " ".join(data.tgt_vocab.to_tokens(
        [token for token in tokens if token != eos]))

# %% [markdown]
# Is the score of a beam what the model says about its tokens?
# The state travels through many steps and is reordered on the way; a mistake there would give plausible sentences with wrong scores.
# So we score the finished candidates again, in one pass with the tokens as decoder input, as in training.

# %%
def new_model(seed, num_layers=1, dropout=0):
    torch.manual_seed(seed)
    sizes = num_hiddens, num_hiddens, num_layers, dropout
    return Seq2Seq(Seq2SeqEncoder(len(data.src_vocab), *sizes),
                   Seq2SeqDecoder(len(data.tgt_vocab), *sizes),
                   data.tgt_vocab["<pad>"], lr=0.01)


def log_prob(model, sentence, tokens):
    """Log-probability of `tokens`, from one pass of the model."""
    src, _, valid_len, _ = data.build([sentence], [""])
    dec_X = torch.tensor([[bos, *tokens[:-1]]])
    batch = d2l.to_device((src, dec_X, valid_len),
                          next(model.parameters()).device)
    with torch.no_grad():
        rows = model(*batch)[0].log_softmax(dim=1).cpu()  # (L, vocab_size)
    return rows[torch.arange(len(tokens)), tokens].sum().item()

# %%
# check 10.8-C6: scores are right, and decoding leaves no trace
model = new_model(seed=0, num_layers=2, dropout=0.5)
before = {name: value.clone() for name, value in model.state_dict().items()}
lists = beams(model, sentences[:5], k=8)
assert model.training and all(p.grad is None for p in model.parameters())
model.eval()
checked = 0
for sentence, candidates in zip(sentences, lists):
    for tokens, score in candidates:
        assert abs(log_prob(model, sentence, tokens) - score) < 1e-4
        checked += 1
assert checked >= 5 * 8
beams(model, sentences[:1], k=2)
assert not model.training
for name, value in model.state_dict().items():
    assert torch.equal(value, before[name])
for p in lms[0].rows.values():  # the log of a product
    p.requires_grad_()
tokens, score = beam_search(*lms[0].args, 2, 4, alpha=0)[0]
rows = [lms[0].rows[lms[0].word(tokens[:t])] for t in range(len(tokens))]
product = math.prod(row.exp()[t].item() for row, t in zip(rows, tokens))
assert abs(math.log(product) - score) < 1e-12 and rows[0].grad is None

# %% [markdown]
# ### Exact search, although there are too many candidates
#
# How often does a beam find the most probable translation?
# With $1000$ tokens and $T'=9$ nobody can visit all candidates, and nobody needs to.
# Suppose that a candidate of probability $p$ is known.
# A prefix with a smaller probability than $p$ can be dropped, since its continuations are less probable still.
# The prefixes of one length exclude each other, so their probabilities add up to at most 1, and at most $1/p$ of them reach $p$.
# It is a beam search with a threshold in place of a width, and its result is exact for $\alpha=0$.

# %%
def most_probable(step, state, bos, eos, max_len, reorder=keep_rows):
    """The candidate of largest probability and its logarithm, exactly."""
    best, bound = beam_search(step, state, bos, eos, 1, max_len, 0,
                              reorder)[0]  # greedy, the first threshold
    prefixes, total = torch.tensor([[bos]]), torch.zeros(1)
    while len(prefixes):
        log_probs, state = step(prefixes[:, -1], state)
        scores = total[:, None] + log_probs.cpu()  # (b, vocab_size)
        ends = torch.full_like(scores, prefixes.shape[1] == max_len).bool()
        ends[:, eos] = True
        last = scores.masked_fill(~ends, -math.inf)
        if last.max() > bound:
            bound = last.max().item()
            row, token = divmod(last.argmax().item(), scores.shape[1])
            best = prefixes[row, 1:].tolist() + [token]
        rows, tokens = ((scores > bound) & ~ends).nonzero(as_tuple=True)
        prefixes = torch.cat((prefixes[rows], tokens[:, None]), dim=1)
        total, state = scores[rows, tokens], reorder(state, rows)
    return best, bound

# %%
for lm_i, best in zip(lms, optima):  # exact where we can count
    sizes = []

    def spy(tokens, state):
        sizes.append(len(tokens))
        return lm_i.step(tokens, state)

    found = most_probable(spy, *lm_i.args[1:], max_len=4)
    assert same(found, best)
    p = math.exp(greedy_search(*lm_i.args, max_len=4)[1])
    assert max(sizes) <= 1 / p + 1e-9

# %% [markdown]
# ### Three models, five beams
#
# Three models differ in their seed and are trained for equal steps.
# For each of the validation sentences, which the models have not seen, we search with five beam sizes and exactly.
# BLEU is `corpus_bleu` of Section 10.7 with n-grams up to 2, against all French versions in the corpus.

# %%
references = [data.references(sentence) for sentence in sentences]
alphas, ks = (0, 0.75, 1.5), (1, 2, 4, 8, 32)


def best_texts(lists, alpha):
    """The text of the best candidate of each list, by (10.8.4)."""
    return [text(max(candidates, key=lambda pair: (
        pair[1] / len(pair[0])**alpha))[0]) for candidates in lists]


def measure(model):
    """The exact optima, and the lists of each beam size."""
    exact = search_each(model, data, sentences, lambda step, state: (
        most_probable(step, state, bos, eos, max_len, reorder)))
    return exact, {k: beams(model, sentences, k) for k in ks}


models, results = [], []
for seed in range(3):
    models.append(new_model(seed))
    history = fit_clipped(models[-1], data, max_epochs, seed=seed,
                          num_gpus=num_gpus)
    results.append(measure(models[-1]))

# %%
def mean(values):
    values = list(values)
    return sum(values) / len(values)


def summary(texts):
    """Mean number of tokens, and BLEU."""
    return (mean(len(t.split()) for t in texts),
            corpus_bleu(texts, references, max_n=2))


table = {"found": [], "log_prob": [], "exact": []}
for exact, lists in results:
    table["found"].append([mean(
        abs(part[0][1] - best[1]) < 1e-4
        for part, best in zip(lists[k], exact)) for k in ks])
    table["log_prob"].append([mean(part[0][1] for part in lists[k])
                              for k in ks])
    table["exact"].append(summary([text(tokens) for tokens, _ in exact]))
    for alpha in alphas:
        table.setdefault(alpha, []).append(
            [summary(best_texts(lists[k], alpha)) for k in ks])
table = {name: torch.tensor(values) for name, values in table.items()}
ref_len = mean(min(len(ref.split()) for ref in refs) for refs in references)

# %% tags=["rtol=0.3"]
for name in ("found", "log_prob"):
    print(name, table[name].mean(dim=0).tolist())
for alpha in alphas:
    print("alpha", alpha, "length", table[alpha][..., 0].mean(dim=0).tolist(), "BLEU", table[alpha][..., 1].tolist())
print("exact", table["exact"].tolist(), ref_len)
