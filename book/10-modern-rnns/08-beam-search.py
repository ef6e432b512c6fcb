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
#         num_val: 20
#         num_hiddens: 32
#         max_epochs: 3
#         char_epochs: 1
#     rehearsal:
#       num_pairs: 0.1
#       num_val: 0.04
#       num_hiddens: 0.125
#       max_epochs: 0.375
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
# **Cost**: about 40 seconds on a CPU; longer in the profile `gpu`, which trains larger models; downloads of about 4 MB.

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
# Nothing follows `<eos>`, so there are fewer than $|\mathcal{Y}|^{T'}$ of them:
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
    that are not listed are uniform. A state (b, t) holds the tokens read;
    `args` are the first four arguments of every search below.
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
# It looks at no more than $|\mathcal{Y}|\,T'$ token scores, $10^5$ in the example above.
# What it cannot do is give up a little now for more later:
#
# ![Two tables of next-token probabilities for A, B, C and end, one column per step. Left, greedy: A 0.5, B 0.4, C 0.4, end 0.6, product 0.048. Right, with C in place of B at step 2: A 0.5, C 0.3, B 0.6, end 0.6, product 0.054.](img/beam-tables.svg)

# %% [markdown]
# **Figure 10.8.1.** Left, greedy search: each column's largest probability is chosen.
# Right, the second best token at step 2 leads to other columns, and to a larger product.
#
# The example is that of *Dive into Deep Learning*, but for a few numbers off both paths, which tie there.
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
lm = TableLM({"": [0.5, 0.24, 0.16, 0.1], "A": [0.1, 0.4, 0.3, 0.2],
              "AB": [0.1, 0.3, 0.4, 0.2], "ABC": [0, 0.2, 0.2, 0.6],
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
    """All candidates and their scores, best first: pairs (tokens, score).

    The score is the sum of the logs over the length to the power `alpha`.
    """
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
p_exact = {lm.word(tokens): math.exp(total) for tokens, total in candidates}
print(len(p_exact), "candidates with total probability",
      round(sum(p_exact.values()), 6))
print({word: p for p, word in sorted(
    ((round(p, 4), word) for word, p in p_exact.items()), reverse=True)[:5]})
assert len(p_exact) == 121 and abs(sum(p_exact.values()) - 1) < 1e-12

# %% [markdown]
# ACB`<eos>` is more probable than what greedy search found.
# But look at the top of the list: three shorter candidates are more probable still.
# We return to this below.
#
# ## Beam search
#
# Beam search with *beam size* $k$ keeps $k$ prefixes.
# At each step it extends all of them by all tokens and keeps the $k$ best of the $k\,|\mathcal{Y}|$ extensions.
# (The speech recognizer Harpy of 1976, an early user of a beam, kept instead whatever came close enough to the best.)
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
# The cost is $\mathcal{O}(k\,|\mathcal{Y}|\,T')$ token scores, and each step is one call of the model with a batch of at most $k$.
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
# A finished candidate takes up one of the $k$ places at its own step only; at the next step $k$ extensions are kept again.
# In the attention model of Bahdanau et al. (2014) it keeps its place, so the beam shrinks; other implementations look further down the list at once and always go on with $k$ prefixes.
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
kept = {k: [[word for word, (_, kept) in part.items() if kept]
            for part in traces[k]] for k in traces}
assert kept[1] == [["A"], ["AB"], ["ABC"], ["ABCe"]]
assert kept[2] == [["A", "B"], ["AB", "AC"], ["ABC", "ACB"],
                   ["ABCe", "ACBe"]]
assert kept[3] == [["A", "B", "C"], ["AB", "AC", "Ae"],
                   ["ABB", "ABC", "ACB"], ["ABCe", "ACBB", "ACBe"]]
assert [len(part) for part in traces[3]] == [4, 12, 8, 12]
for part in itertools.chain(*traces.values()):  # nothing rests on a tie
    least = min(p for p, kept in part.values() if kept)
    assert all(kept or p < least - 1e-3 for p, kept in part.values())

# %% tags=["hide-input"]
def draw(fig, k, step):
    ax = fig.subplots()
    places = {"": (0, 0.5)}
    for t, part in enumerate(traces[int(k)][:int(step)], start=1):
        for i, (word, (p, kept)) in enumerate(part.items()):
            x, y = t, 1 - (i + 0.5) / len(part)
            places[word] = x, y
            px, py = places[word[:-1]]
            color = "C0" if kept else "0.65"
            behind = px + (0.03, 0.4, 0.63, 0.63)[px]
            ax.plot([behind, x - 0.03], [py, y], color=color,
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
# With $k=3$ A`<eos>` finishes at step 2, so only two prefixes are extended at step 3, of whose extensions again three are kept.

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
first, parts = keep_rows((a, [b, "x"]), rows)
second, third = parts
assert isinstance(parts, list) and first.tolist() == [2, 0, 0] and third == "x"
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
assert 0.4 < share[1] < 0.6 < share[2] < share[3] < share[4] <= share[9]
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
turn = math.log2(math.log(0.054) / math.log(0.1))  # equal to A<eos> there
assert 0.3 < turn < 0.36
for alpha, longer in ((turn - 0.02, False), (turn + 0.02, True)):
    top = exhaustive_search(*lm.args, max_len=4, alpha=alpha)[0][0]
    assert lm.word(top) == ("ACBe" if longer else "Ae")

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
# Without normalization short candidates win, with the other two exponents one of length 4; the change comes at an $\alpha$ of about a third.

# %% [markdown]
# ## On a translation model
#
# Now to a model that was trained.
# We take the pronoun sentences of [Section 10.5](05-machine-translation-data.ipynb) and the model of [Section 10.7](07-seq2seq.ipynb), smaller and on fewer sentences, so that three can be trained.
# An adapter turns its decoder into a step function, and a loop feeds it one sentence after another, in evaluation mode and without gradients.
# The decoder's state is a pair, the context $(b,h)$ and the hidden state $(\text{layers},b,h)$ with $h$ units, so the beams are rows of the first but columns of the second.

# %%
def decoder_step(decoder, banned=()):
    """A step function of a `Seq2SeqDecoder` without the tokens `banned`."""
    device = next(decoder.parameters()).device

    def step(tokens, state):
        scores, state = decoder(tokens[:, None].to(device), state)
        scores[:, -1, list(banned)] = -math.inf
        return scores[:, -1].log_softmax(dim=1), state  # (b, vocab_size)
    return step


def reorder(state, rows):
    context, hidden = state
    rows = rows.to(context.device)
    return context[rows], hidden[:, rows]


def search_each(model, data, sentences, search, banned=()):
    """What `search(step, state)` returns for each sentence."""
    device = next(model.parameters()).device
    src, _, valid_len, _ = d2l.to_device(
        data.build(sentences, [""] * len(sentences)), device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        context, hidden = model.decoder.init_state(
            model.encoder(src, valid_len))
        step = decoder_step(model.decoder, banned)
        found = [search(step, (context[i:i + 1], hidden[:, i:i + 1]))
                 for i in range(len(sentences))]
    model.train(was_training)
    return found

# %%
data = MTFraEng(64, num_train=num_pairs, num_val=num_val, subset="pronoun")
real = data.source == "real"
full_run = num_pairs >= 3000 and max_epochs >= 5 and num_val >= 300
bos, eos = data.tgt_vocab["<bos>"], data.tgt_vocab["<eos>"]
unk, max_len = data.tgt_vocab.unk, data.num_steps
sentences = [" ".join(src[:-1]) for src, _ in data.pairs[num_pairs:]]


def beams(model, sentences, k, banned=(unk,)):
    """Lists of candidates and log-probabilities, one for each sentence."""
    return search_each(model, data, sentences, lambda step, state: (
        beam_search(step, state, bos, eos, k, max_len, 0, reorder)), banned)


def text(tokens):
    """Tokens without "<eos>", as a string."""
    return " ".join(data.tgt_vocab.to_tokens(
        [token for token in tokens if token != eos]))

# %% [markdown]
# The token `<unk>` stands for all words outside the vocabulary; models often give it a large probability, and a reader learns nothing from it.
# We ban it from the output; the other probabilities are normalized again.
#
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
        scores = model(*batch)[0].cpu()  # (L, vocab_size)
    scores[:, unk] = -math.inf
    rows = scores.log_softmax(dim=1)
    return rows[torch.arange(len(tokens)), tokens].sum().item()

# %%
# check 10.8-C6: scores are right, and decoding leaves no trace
model = new_model(seed=0, num_layers=2, dropout=0.5)
before = {name: value.clone() for name, value in model.state_dict().items()}
for p in model.parameters():
    p.grad = torch.ones_like(p)
lists = beams(model, sentences[:5], k=8)
assert model.training and all((p.grad == 1).all() for p in model.parameters())
model.eval()
checked = 0
for sentence, candidates in zip(sentences, lists):
    for tokens, score in candidates:
        assert abs(log_prob(model, sentence, tokens) - score) < 1e-4
        checked += 1
assert checked >= 5 * 8
traced = search_each(model, data, sentences[:2], lambda step, state: (
    step(torch.tensor([bos]), state)[0].requires_grad))
assert not model.training and traced == [False, False]
for name, value in model.state_dict().items():
    assert torch.equal(value, before[name])
tokens, score = beam_search(*lms[0].args, 2, 4, alpha=0)[0]
rows = [lms[0].rows[lms[0].word(tokens[:t])] for t in range(len(tokens))]
product = math.prod(row.exp()[t].item() for row, t in zip(rows, tokens))
assert abs(math.log(product) - score) < 1e-12  # the log of a product

# %% [markdown]
# ### Exact search, although there are too many candidates
#
# How often does a beam find the most probable translation?
# With about 1000 tokens and $T'=9$ nobody can visit all candidates, and nobody needs to.
# Suppose that a candidate of probability $p$ is known.
# A prefix with a smaller probability than $p$ can be dropped, since its continuations are no more probable.
# The prefixes of one length exclude each other, so their probabilities add up to at most 1, and at most $1/p$ of them reach $p$.
# It is a beam search with a threshold in place of a width, and its result is exact for $\alpha=0$.

# %%
def most_probable(step, state, bos, eos, max_len, reorder=keep_rows,
                  beam_size=8):
    """The candidate of largest probability and its logarithm, exactly.

    The first threshold is what a beam of `beam_size` finds.
    """
    best, bound = beam_search(step, state, bos, eos, beam_size, max_len, 0,
                              reorder)[0]
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

    found = most_probable(spy, *lm_i.args[1:], max_len=4, beam_size=1)
    assert same(found, best)
    p = math.exp(greedy_search(*lm_i.args, max_len=4)[1])
    assert max(sizes) <= 1 / p + 1e-9

# %% [markdown]
# ### Three models, four beams
#
# Three models differ in their seed and are trained for equal steps.
# For each of the validation sentences, which the models have not seen, we search with four beam sizes and exactly.
# BLEU is `corpus_bleu` of Section 10.7 with n-grams up to 2, against all French versions in the corpus.
# It has two factors, which we also look at separately: the geometric mean of the *precisions* (the shares of the output's n-grams that a reference has), below simply called the precision, and the *brevity penalty*, which is below 1 where the outputs are shorter than the references.

# %%
references = [data.references(sentence) for sentence in sentences]
alphas, ks = (0, 0.75, 1.5), (1, 2, 4, 16)


def best_texts(lists, alpha):
    """The text of the best candidate of each list, by (10.8.4)."""
    return [text(max(candidates, key=lambda pair: (
        pair[1] / len(pair[0])**alpha))[0]) for candidates in lists]


def measure(model):
    """The exact optima, and the lists of each beam size."""
    exact = search_each(model, data, sentences, lambda step, state: (
        most_probable(step, state, bos, eos, max_len, reorder)), (unk,))
    return exact, {k: beams(model, sentences, k) for k in ks}


models, results = [], []
for seed in range(3):
    models.append(new_model(seed))
    fit_clipped(models[-1], data, max_epochs, seed=seed, num_gpus=num_gpus)
    results.append(measure(models[-1]))

# %%
def mean(values):
    values = list(values)
    return sum(values) / len(values)


def brevity(texts, references):
    """The factor of BLEU that punishes short outputs."""
    lengths = [len(t.split()) for t in texts]
    closest = [min((abs(len(ref.split()) - n), len(ref.split()))
                   for ref in refs)[1] for n, refs in zip(lengths, references)]
    return math.exp(min(0, 1 - sum(closest) / max(1, sum(lengths))))


def summary(texts):
    """Mean number of tokens, BLEU, precision and brevity penalty."""
    score = corpus_bleu(texts, references, max_n=2)
    penalty = brevity(texts, references)
    return mean(len(t.split()) for t in texts), score, score / penalty, penalty


short = ["a b", "a b c"], [["a b c", "a b c d e"], ["a b c d"]]
assert brevity(*short) == corpus_bleu(*short, 2) == math.exp(1 - 7 / 5)
assert brevity(["a b c"], [["a b"]]) == 1  # only short ones

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
print("beam sizes", ks)
print("most probable one found", [f"{v:.2f}" for v in table["found"].mean(0)])
for alpha in alphas:
    length, score, *_ = table[alpha].mean(dim=0).T
    print(f"alpha {alpha}: length", [f"{v:.1f}" for v in length],
          "BLEU", [f"{v:.3f}" for v in score])
length, score, *_ = table["exact"].mean(dim=0)
print(f"exact: length {length:.1f}, BLEU {score:.3f}; "
      f"length of the references {ref_len:.1f}")
for row, exact in zip(table[0], table["exact"]):
    print("one model, alpha 0, last exact:", *(
        f"{name} {[f'{v:.3f}' for v in (*row[:, i], exact[i])]}"
        for i, name in ((1, "BLEU"), (2, "precision"))))

# %%
# a beam of one is greedy search; nothing beats the exact search
for model, (exact, lists), found in zip(models, results, table["found"]):
    one = beams(model, sentences[:100], k=1, banned=())
    assert best_texts(one, 0) == translate(model, data, sentences[:100])
    for k in ks:
        assert all(part[0][1] < best[1] + 1e-4
                   for part, best in zip(lists[k], exact))
    same_tokens = [mean(part[0][0] == best[0] for part, best
                        in zip(lists[k], exact)) for k in ks]
    torch.testing.assert_close(found, torch.tensor(same_tokens), rtol=0,
                               atol=0.01)
    for sentence, (tokens, score) in zip(sentences[:20], exact):
        assert abs(log_prob(model, sentence, tokens) - score) < 1e-4

# %% tags=["hide-input", "chaotic"]
fig, axes = plt.subplots(2, 2, figsize=(7, 5.4), layout="constrained")
axes = axes.flatten()
places = range(len(ks))
for found in table["found"]:
    axes[0].plot(places, found, "o", mfc="none", color="C0")
axes[0].plot(places, table["found"].mean(dim=0), color="C0")
for column, ax in enumerate(axes[1:]):
    for alpha, color, mark, line in zip(alphas, ("C0", "C1", "C2"), "os^",
                                        ("-", "--", ":")):
        values = table[alpha][..., column]  # (models, beam sizes)
        for row in values:
            ax.plot(places, row, mark, mfc="none", color=color, ms=5)
        ax.plot(places, values.mean(dim=0), line, color=color,
                label=rf"$\alpha={alpha}$")
    ax.plot([len(ks)] * 3, table["exact"][:, column], "x", color="black",
            label="exact")
axes[1].axhline(ref_len, color="black", lw=1)
axes[1].legend(fontsize=7, ncols=2, loc="upper right")
axes[1].margins(y=0.2)
for ax, name in zip(axes, ("most probable one found", "mean length",
                           "BLEU, n-grams up to 2",
                           "BLEU without brevity penalty")):
    ax.set(xlabel="beam size", ylabel=name)
    ax.set_xticks(range(len(ks) + (ax is not axes[0])), labels=[
        *ks, "exact"][:len(ks) + (ax is not axes[0])])
axes[0].set_ylim(0, 1)
d2l.describe(axes, """Against the beam size. First, the share of sentences for
    which the most probable translation was found rises for all models.
    Second, the mean length falls from above the line of the references to a
    token below it without normalization, less for alpha 0.75, and least for
    1.5. Third, BLEU: without normalization it is lower for the exact search
    than for beam size 4. Fourth, BLEU without brevity penalty: without
    normalization it rises with the beam size, and stays high for the exact
    search.""")

# %% [markdown]
# **Figure 10.8.5.** Search on three models (dots; lines are means), with beam sizes 1 to 16 and exact search without normalization (crosses).
# The black line in the second panel is the mean length of the shortest references.

# %%
if full_run and real:  # several references; the line: the shortest
    assert max(map(len, references)) > 1
    assert ref_len < mean(len(refs[0].split()) for refs in references)
if full_run and real and num_pairs == 3000:
    assert (table["found"].diff(dim=1) > 0).all()
    assert (table["log_prob"].diff(dim=1) > 0).all()
    assert table["found"][:, 0].max() < 0.4 < 0.6 < table["found"][:, -1].min()
    exact = table["exact"]  # (models, 4)
    assert (table[0][:, 0, 0] - exact[:, 0]).min() > 1
    assert (table[0][..., 0].diff(dim=1) < 0).all()
    assert table[0][:, 0, 0].min() > ref_len > exact[:, 0].max() + 0.5
    change = exact - table[0][:, 2]  # from beam size 4 to exact search
    assert change[:, 1].max() < 0 and change[:, 3].max() < -0.07
    ratio = exact / table[0][:, 2]  # the penalty falls by more
    assert (ratio[:, 3] < ratio[:, 2] - 0.05).all()
    narrow = table[0][:, 2, 1] - table[0][:, 0, 1]
    assert narrow.mean() > 0
    wide = torch.stack([table[alpha][:, -1] for alpha in alphas])
    # a larger exponent, more tokens
    assert (wide[..., 0].diff(dim=0) > 0.2).all()
    assert wide[1, :, 1].mean() > wide[0, :, 1].mean()
    assert wide[2, :, 0].min() > ref_len

# %% [markdown]
# The search does its job: in each of the three models a wider beam finds the most probable translation more often, and in the mean over all sentences more probable ones.
# It also finds shorter ones.
# Without normalization the mean length falls with the beam size in every model, from above that of the references to about a token below it for the exact search.
# BLEU does not follow the probability: from beam size 4 to exact search it falls in all three models, although exact search makes no errors.
#
# The two factors show where the fall comes from.
# In every model the brevity penalty shrinks by a larger factor than the precision, if the precision falls at all.
# So most of what BLEU takes off here is the price of being short, and being short is what these models find probable: the search is not at fault.
# (Nor does a higher precision prove a better translation, for leaving out what is uncertain also raises it; against that BLEU has its penalty.)
# With a beam of 16, $\alpha=0.75$ makes the outputs longer in every model and BLEU higher in the mean; $\alpha=1.5$ makes them longer than the references.
# From greedy search to a beam of 4, BLEU rises in the mean over the three models.
#
# How far does this carry?
# The models are small, the sentences short, and 300 of them leave BLEU uncertain.
# For larger systems Koehn and Knowles (2017) report better translations from narrow beams and worse ones from wide beams, and Murray and Chiang (2018) that correcting the length almost removes the problem.
# In the mean our runs agree with Koehn and Knowles, with exact search as the widest beam; that the exponent removes the problem, they do not show.
# Stahlberg and Byrne (2019), with exact search on a Transformer, found the *empty* translation to be the most probable one for more than half of their sentences.
# In our models it rarely or never is.
#
# One more control: what if `<unk>` is allowed?

# %% tags=["rtol=0.3"]
empty = [mean(tokens == [eos] for tokens, _ in exact) for exact, _ in results]
print("share of empty translations among the exact optima:",
      [f"{share:.2f}" for share in empty])
allowed = []  # (models, 2, 4)
for model in models:
    texts = [best_texts(beams(model, sentences, k, banned=()), 0)
             for k in (1, 4)]
    one, four = map(summary, texts)
    allowed.append([one, four])
    print("with <unk> in {:.2f} of the greedy outputs: BLEU {:.3f} greedy, "
          "{:.3f} with beam size 4; brevity penalty {:.2f} and {:.2f}".format(
              mean("<unk>" in t for t in texts[0]), one[1], four[1],
              one[3], four[3]))
    if full_run and real and num_pairs == 3000:
        assert mean("<unk>" in t for t in texts[0]) > 0.5
if full_run and real and num_pairs == 3000:
    assert max(empty) < 0.05
    change = torch.tensor(allowed).diff(dim=1)[:, 0]
    assert change[:, 1].mean() < 0 and change[:, 3].max() < -0.05
    assert (change[:, 1] < narrow - 0.005).all()
    assert all(abs(one[0] - ref_len) < 0.4 for one, _ in allowed)

# %% [markdown]
# Most greedy outputs then contain it, and in the mean over the three models BLEU is lower with the beam than without.
# Again the beam's outputs are shorter, and here greedy search has no tokens to spare: its outputs are about as long as the references.
# With `<unk>` banned it was higher in the mean, and the beam did better by BLEU in each model, so a comparison of searches can depend on a token that no reader would want to see.

# %% [markdown]
# ## Drawing instead of searching
#
# Where many outputs are good, as in a chat or a story, the most probable one need not be what we want: Holtzman et al. (2020) found that maximizing the likelihood, by beam search for example, makes text bland and repetitive, and proposed to *draw* the next token from a distribution without its tail.
# There are three common changes to the distribution, often combined.
# A *temperature* $\tau$ ([Section 9.5](../09-recurrent-neural-networks/05-rnn-scratch.ipynb)) makes it proportional to $p(y)^{1/\tau}$.
# *Top-k sampling* keeps the $k$ most probable tokens.
# *Nucleus* or *top-p sampling* keeps the fewest tokens whose probabilities reach a sum of $p$; they are few where the model is sure and many where it is not.

# %%
def truncate_probs(probs, top_k=None, top_p=1.0):
    """Probabilities (..., v) without their tail, with sum 1 again.

    Keeps at most `top_k` tokens, by default all, and no more of the most
    probable ones than are needed to reach `top_p`.
    """
    ordered, order = probs.sort(dim=-1, descending=True)
    keep = ordered.cumsum(dim=-1) - ordered < top_p  # the sum before it
    if top_k is not None:
        keep[..., top_k:] = False
    kept = torch.zeros_like(probs).scatter(-1, order, ordered * keep)
    return kept / kept.sum(dim=-1, keepdim=True)


def sample(step, state, bos, eos, max_len, rng, change=lambda probs: probs):
    """One candidate, drawn token by token from changed probabilities."""
    tokens, last = [], torch.tensor([bos])
    while len(tokens) < max_len and tokens[-1:] != [eos]:
        log_probs, state = step(last, state)
        probs = change(log_probs.exp().cpu())
        last = torch.multinomial(probs, 1, generator=rng)[:, 0]
        tokens += last.tolist()
    return tokens

# %%
probs = torch.tensor([[0.15, 0.5, 0.1, 0.25], [0.01, 0.02, 0.96, 0.01]])
for options in (dict(top_k=2), dict(top_p=0.7), dict(top_p=0.9)):
    print(options, [[f"{p:.2f}" for p in row]
                    for row in truncate_probs(probs, **options).tolist()])
expected = torch.tensor([[0, 2 / 3, 0, 1 / 3], [0, 0, 1, 0]])
torch.testing.assert_close(truncate_probs(probs, top_p=0.7), expected)
torch.testing.assert_close(truncate_probs(probs), probs)
torch.testing.assert_close(truncate_probs(probs, top_k=2)[0], expected[0])
assert (truncate_probs(probs, 2) > 0).sum(dim=1).tolist() == [2, 2]
assert (truncate_probs(probs, 2, 0.3) > 0).sum(dim=1).tolist() == [1, 1]
assert (truncate_probs(probs, top_p=0.9) > 0).sum(dim=1).tolist() == [3, 1]

# %% tags=["hide-input"]
# check: samples have the probabilities of the exhaustive list
rng = torch.Generator().manual_seed(3)
drawn = [lm.word(sample(*lm.args, 4, rng)) for _ in range(3000)]
for word in ("Ae", "e", "ACBe", "ABCe"):
    assert abs(drawn.count(word) / 3000 - p_exact[word]) < 0.02, word
sure = [sample(*lm.args, 4, rng, lambda p: truncate_probs(p, top_k=1))
        for _ in range(3)]
assert [lm.word(tokens) for tokens in sure] == ["ABCe"] * 3

# %% [markdown]
# What does drawing do to our translations, with few good outputs each?

# %% tags=["rtol=0.3"]
rng = torch.Generator().manual_seed(4)
nucleus = {}
for top_p in (1.0, 0.5):
    nucleus[top_p] = [summary([text(tokens) for tokens in search_each(
        model, data, sentences, lambda step, state: sample(
            step, state, bos, eos, max_len, rng,
            lambda p: truncate_probs(p, top_p=top_p)), (unk,))])[1]
        for model in models]
greedy = table[0][:, 0, 1].tolist()
for name, values in (*nucleus.items(), ("greedy", greedy)):
    print(name, [round(value, 3) for value in values])
if full_run and real and num_pairs == 3000:
    for full, half, most in zip(nucleus[1.0], nucleus[0.5], greedy):
        assert full + 0.02 < min(half, most)
        assert abs(half - most) < 0.5 * (most - full)

# %% [markdown]
# Draws from the whole distribution have the lowest BLEU in all three models; draws from a nucleus of $p=0.5$ come much closer to greedy search.
#
# ### Faster draws from the same distribution
#
# *Speculative decoding* (Leviathan et al., 2022) lets a cheap model propose tokens for an expensive one.
# Let $q$ be the distribution of the next token under the cheap model and $p$ that of the expensive one.
# Draw $y$ from $q$ and accept it with probability $\min(1,p(y)/q(y))$; otherwise draw from what $p$ has in excess of $q$, the normalized $\max(0,p-q)$.
# The result has the distribution $p$.
# With $\beta=\sum_y\min(p(y),q(y))$, the probability of acceptance, the excess sums to $1-\beta$, so
#
# $$\underbrace{q(y)\min\!\left(1,\tfrac{p(y)}{q(y)}\right)}_{\min(p(y),\,q(y))}+(1-\beta)\,\frac{\max(0,p(y)-q(y))}{1-\beta}=p(y). \tag{10.8.5}$$

# %%
def accept_and_excess(p, q):
    """Probabilities of acceptance (v,), and the normalized max(0, p - q)."""
    accept = torch.where(q > 0, torch.minimum(p, q) / q, 1)
    excess = (p - q).clamp(min=0)
    return accept, excess / excess.sum()


def speculative_step(p, q, rng):
    """A token with distribution p (v,), and whether it came from q (v,)."""
    accept, excess = accept_and_excess(p, q)
    token = torch.multinomial(q, 1, generator=rng).item()
    if torch.rand(1, generator=rng) < accept[token]:
        return token, True
    return torch.multinomial(excess, 1, generator=rng).item(), False

# %%
# check 10.8-C7: exactly p, and not if the second draw is from p itself
rng = torch.Generator().manual_seed(7)
for _ in range(100):
    p, q = torch.rand(2, 6, generator=rng, dtype=torch.float64)**3
    q[0] = 0  # a token that is never proposed
    p, q = p / p.sum(), q / q.sum()
    accept, excess = accept_and_excess(p, q)
    beta = torch.minimum(p, q).sum()
    taken = q * accept
    torch.testing.assert_close(taken.sum(), beta, rtol=0, atol=1e-12)
    torch.testing.assert_close(taken + (1 - beta) * excess, p,
                               rtol=0, atol=1e-12)
    assert (taken + (1 - beta) * p - p).abs().max() > 1e-3
draws = [speculative_step(p, q, rng) for _ in range(4000)]
counts = torch.bincount(torch.tensor([t for t, _ in draws]), minlength=6)
torch.testing.assert_close(counts / 4000, p.float(), rtol=0, atol=0.035)
assert abs(sum(taken for _, taken in draws) / 4000 - beta) < 0.035
assert all(speculative_step(p, p, rng)[1] for _ in range(50))

# %% [markdown]
# The expensive model must still judge every proposal.
# But it can judge several in one call, if it reads a whole sequence at once as Transformers do (Chapter 11), so it is called fewer times in a row.
# The closer $q$ is to $p$, the more is accepted.
#
# Today chat models usually draw their tokens, and serving systems such as vLLM offer several kinds of speculative decoding.
# The Transformers library decodes greedily unless told otherwise.
# In translation, beam search has a rival that takes the model's probabilities less literally: draw many outputs and return the one that is most similar to the others by a learned measure (*minimum Bayes risk*); with a truncated distribution, human judges preferred it to beam search in four language pairs (Freitag et al., 2023).

# %% [markdown]
# ## Summary
#
# - One step function serves all searches; the state's rows must follow the parents, and scoring the result again finds a mistake there.
# - Greedy search can miss the optimum; on random tables a wider beam found it more often, but on a single table it can find something worse.
# - No further token can raise a probability, so short outputs have an advantage; dividing by $L^\alpha$ favors long ones and acts only on finished candidates.
# - With a known candidate of probability $p$ as threshold, at most $1/p$ prefixes of each length need be kept, and the search is exact.
# - In three small translation models, going from beam size 4 to exact search gave more probable, shorter outputs and a lower BLEU, mostly by its brevity penalty; the search made no errors, these models prefer short outputs.
# - Speculative decoding draws exactly from $p$ with the help of any $q$; the second draw must be from the excess of $p$ over $q$.

# %% [markdown]
# ## Exercises
#
# ### Exercise 10.8-1
#
# Exhaustive search is a beam search of which size?
# Give the smallest $k$ with which it lists all candidates, and the smallest with which it is sure to return the best by (10.8.4), for $|\mathcal{Y}|=v$ and $T'\ge3$.
# Show by a table that the second cannot be smaller for $\alpha=0.75$.
# For $\alpha=0$ a smaller $k$ is enough; which?

# %% [markdown]
# #### Solution 10.8-1

# %% [markdown]
# At step $t$ there are at most $(v-1)^{t-1}v$ extensions.
# To list everything, the last step must keep all: $k=(v-1)^{T'-1}v$, here 108.
# For the best candidate alone it is enough that nothing is pruned before the last step, where all have the same length and the first is the best: $k=(v-1)^{T'-2}v$, here 36.
# In the first table below, the 36th extension at step 3 goes on to `<eos>` for certain, and no other does: with 35 it is lost.
#
# For $\alpha=0$ an extension with a smaller probability than the best candidate is of no use, and finished ones never have a larger.
# So at step $T'-1$ only the $(v-1)^{T'-1}$ unfinished extensions can stand before the best candidate or its prefix, and $k=(v-1)^{T'-1}+1$ places suffice, here 28.
# In the second table, 27 unfinished prefixes stand before a finished optimum.

# %%
def tree_lm(weights, **last_rows):
    """A TableLM in which words of three symbols have given weights."""
    rows = {}
    for n in range(3):
        for prefix in map("".join, itertools.product("ABC", repeat=n)):
            row = torch.tensor([sum(
                weight for word, weight in weights.items()
                if word.startswith(prefix + symbol)) for symbol in "ABCe"])
            rows[prefix] = (row / row.sum()).tolist()
    return TableLM(rows | last_rows)


words = ["".join(w) + s for w in itertools.product("ABC", repeat=2)
         for s in "ABCe"]
last = tree_lm({w: 0.99 if w == "AAA" else 1.0 for w in words},
               AAA=[0, 0, 0, 1.0])
early = tree_lm({w: 1.0 for w in words if w[-1] != "e"} | {"AAe": 0.99})
for example, alpha, enough in ((last, 0.75, 36), (early, 0, 28)):
    best = exhaustive_search(*example.args, max_len=4, alpha=alpha)[0]
    print(example.word(best[0]), f"needs beam size {enough}")
    for k in (enough - 1, enough):
        found = beam_search(*example.args, k, 4, alpha)[0]
        assert (found[0] == best[0]) == (k == enough)
assert all(same(beam_search(*lm_i.args, 28, 4, alpha=0)[0], best)
           for lm_i, best in zip(lms, optima))
assert len(beam_search(*lms[0].args, 107, 4)) == 120  # one is missing

# %% [markdown]
# ### Exercise 10.8-2
#
# Search with a beam in the character model of [Section 9.5](../09-recurrent-neural-networks/05-rnn-scratch.ipynb), which has no `<eos>`, and compare 60 characters from beam sizes 1 and 8 with samples: log-probability per character, and the share of distinct groups of four characters.

# %% [markdown]
# #### Solution 10.8-2

# %% [markdown]
# Without `<eos>` all candidates have the same length, so we pass $-1$ as `eos`, an index that no token has.
# The beam starts from the state after the prefix without its last character.
# In this model, on average over three prefixes, the beams find text that is far more probable than samples, the wider one most, and the wider beam repeats more groups of characters than the samples do.

# %% tags=["rtol=0.3"]
chars = TimeMachine(128, num_train=10_000, num_val=1000)
torch.manual_seed(0)
char_model = RNNLM(RNN(len(chars.vocab), 64), len(chars.vocab), lr=1)
fit_clipped(char_model, chars, char_epochs, num_gpus=num_gpus,
            optimizer=lambda params: torch.optim.Adam(params, lr=0.01))
char_model.cpu()


@torch.no_grad()
def char_step(tokens, state):
    outputs, state = char_model.rnn(char_model.one_hot(tokens[:, None]),
                                    state)
    return char_model.output_layer(outputs)[:, -1].log_softmax(dim=1), state


def begin(prefix):
    """Arguments of a search that continues `prefix`: step to eos."""
    fed = torch.tensor([chars.vocab[list(prefix)]])  # (1, T)
    with torch.no_grad():
        _, state = char_model.rnn(char_model.one_hot(fed[:, :-1]))
    return char_step, state, fed[0, -1].item(), -1


def distinct(tokens, n=4):
    groups = [tuple(tokens[i:i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(groups)) / len(groups)

# %% tags=["rtol=0.3"]
rng = torch.Generator().manual_seed(2)
rates, varied = {}, {}
for prefix in ("the time ", "it was ", "we saw "):
    start = begin(prefix)
    texts = {k: [beam_search(*start, k, 60, alpha=1, reorder=(
        lambda state, rows: state[:, rows]))[0]] for k in (1, 8)}
    words = prefix + "".join(chars.vocab.to_tokens(texts[1][0][0]))
    assert words == continue_text(char_model, prefix, 60, chars.vocab)
    texts["sample"] = []
    for _ in range(5):
        tokens, state, total = sample(*start, 60, rng), start[1], 0
        for fed, token in zip([start[2], *tokens], tokens):
            row, state = char_step(torch.tensor([fed]), state)
            total += row[0, token].item()
        texts["sample"].append((tokens, total / 60))
    for name, found in texts.items():
        rates.setdefault(name, []).append(mean(s for _, s in found))
        varied.setdefault(name, []).append(mean(
            distinct(tokens) for tokens, _ in found))
for name in rates:
    print(name, f"log-probability per character {mean(rates[name]):.2f},",
          f"distinct groups {mean(varied[name]):.2f}")
assert distinct([1, 2, 3, 4, 1, 2, 3, 4]) == 4 / 5
if full_run and real and char_epochs >= 3:
    rates = {name: mean(values) for name, values in rates.items()}
    assert rates["sample"] + 0.5 < rates[1] < rates[8] - 0.1
    assert mean(varied[8]) + 0.08 < mean(varied["sample"])

# %% [markdown]
# ### Exercise 10.8-3
#
# What does a larger $k$ cost, counted in calls of the decoder and in token scores per sentence?
# Choose $k$ and $\alpha$ on one half of the validation sentences and compare with greedy search on the other half.

# %% [markdown]
# #### Solution 10.8-3

# %% [markdown]
# The calls grow little, since the beams of a step are one batch; there are at most $T'$ of them.
# The token scores grow roughly as $k$, and a call has at most $k$ prefixes: the first step has one whatever $k$ is, and the place of a candidate that has just finished is empty for a step.
# The pair that is best on the first half need not be so on the second, and as the best of ten (with $k=1$ the exponent changes nothing) its BLEU on the first half is likely to be too good.
# Judge the choice by the second half alone; the table shows whether it pays there, for each model.

# %% tags=["rtol=0.3"]
costs = {}
for k in ks:
    batches = []

    def counted(step, state):
        def spy(tokens, state):
            batches.append(len(tokens))
            return step(tokens, state)
        return beam_search(spy, state, bos, eos, k, max_len, 0, reorder)

    search_each(models[0], data, sentences[:50], counted, (unk,))
    costs[k] = (len(batches) / 50, sum(batches) / 50)
    print(f"beam size {k}: {costs[k][0]:.1f} calls, {costs[k][1]:.1f} times "
          "the vocabulary of token scores")
assert all(calls <= max_len for calls, _ in costs.values())
assert costs[1][0] == costs[1][1]  # a batch of one
assert all(costs[k][1] <= k * costs[k][0] for k in ks)
assert costs[16][1] > 3 * costs[4][1] > 9 * costs[1][1] > 0

# %% tags=["timing"]
half = len(sentences) // 2


def half_bleu(texts, part):
    return corpus_bleu(texts[part], references[part], max_n=2)


for _, lists in results:
    texts = {(k, alpha): best_texts(lists[k], alpha)
             for k in ks for alpha in alphas}
    first, second = slice(0, half), slice(half, None)
    chosen = max(texts, key=lambda pair: half_bleu(texts[pair], first))
    scores = [half_bleu(texts[pair], part) for pair in ((1, 0), chosen)
              for part in (first, second)]
    print("chosen: beam size {}, alpha {};".format(*chosen),
          "BLEU greedy {:.3f} and {:.3f}, chosen {:.3f} and {:.3f}".format(
              *scores))
    assert scores[2] >= scores[0]  # by choice

# %% [markdown]
# ### Exercise 10.8-4
#
# When may beam search stop before all beams have finished, with the same result?
# Find a rule that is provably safe for $\alpha=0$, extend it to $\alpha>0$, and test it.

# %% [markdown]
# #### Solution 10.8-4

# %% [markdown]
# For $\alpha=0$ the sum of logarithms only falls from here on.
# As soon as the best finished candidate has at least the sum of the best unfinished prefix, nothing can overtake it.
# For $\alpha>0$ a prefix with the sum $S\le0$ ends with a sum of at most $S$ and a length of at most $T'$, so its score is at most $S/T'^\alpha$; stop when the best finished score has reached this.
# (At $\alpha=0$ it is the same rule.)
# Dividing $S$ by the *present* length is not safe: the prefix may still gain by becoming longer.
# Huang et al. (2017) derive such a rule.

# %%
def stopping_search(step, state, bos, eos, k, max_len, alpha, bound):
    """The best candidate, and the number of steps it took.

    Stops if it scores at least `bound(total, length)` for the best prefix.
    """
    tokens, total, best = torch.tensor([bos]), torch.zeros(1), ([], -math.inf)
    prefixes = torch.empty(1, 0, dtype=torch.long)
    for length in range(1, max_len + 1):
        log_probs, state = step(tokens, state)
        scores = total[:, None] + log_probs
        total, index = scores.flatten().topk(min(k, scores.numel()))
        rows, tokens = index // scores.shape[1], index % scores.shape[1]
        prefixes = torch.cat((prefixes[rows], tokens[:, None]), dim=1)
        ended = (tokens == eos) | (length == max_len)
        for prefix, s in zip(prefixes[ended].tolist(), total[ended].tolist()):
            best = max(best, (prefix, s / length**alpha),
                       key=lambda pair: pair[1])
        prefixes, tokens, total = (part[~ended] for part in
                                   (prefixes, tokens, total))
        state = state[rows[~ended]]
        if not len(total) or best[1] >= bound(total[0].item(), length):
            return best, length

# %%
rules = {"safe": lambda S, length: S / 4**alpha,
         "present length": lambda S, length: S / length**alpha,
         "never": lambda S, length: math.inf}
for alpha in (0, 0.75):
    wrong, steps = dict.fromkeys(rules, 0), dict.fromkeys(rules, 0)
    for lm_i, k in itertools.product(lms[:150], (2, 4)):
        reference = beam_search(*lm_i.args, k, 4, alpha)[0]
        for name, bound in rules.items():
            found, taken = stopping_search(*lm_i.args, k, 4, alpha, bound)
            wrong[name] += not same(found, reference)
            steps[name] += taken
    print(f"alpha {alpha}: wrong results {wrong}, steps {steps}")
    assert wrong["safe"] == wrong["never"] == 0
    assert steps["safe"] < steps["never"]
    assert (wrong["present length"] > 0) == (alpha > 0)

# %% [markdown]
# ### Exercise 10.8-5
#
# Force a given word to appear in the output, with `beam_search` unchanged.
# Test it against exhaustive search, and then on the translation model.

# %% [markdown]
# #### Solution 10.8-5

# %% [markdown]
# The word must stand at one of the $T'$ positions.
# For each of them, run a beam search whose step function allows nothing else there, and keep the best candidate that contains the word.
# This takes $T'$ searches; *grid beam search* (Hokamp and Liu, 2017) does it in one, with separate beams for prefixes that have the word and those that do not.

# %%
def with_word(step, word, place):
    """A step function that allows only `word` at position `place`."""
    calls = itertools.count()

    def forced(tokens, state):
        log_probs, state = step(tokens, state)
        if next(calls) == place:
            others = torch.arange(log_probs.shape[1]) != word
            log_probs = log_probs.masked_fill(
                others.to(log_probs.device), -math.inf)
        return log_probs, state
    return forced


def forced_search(word, step, state, bos, eos, k, max_len, *args, **kwargs):
    """The best candidate with `word`, of one search for each place."""
    found = [pair for place in range(max_len) for pair in beam_search(
        with_word(step, word, place), state, bos, eos, k, max_len, *args,
        **kwargs) if word in pair[0]]
    return max(found, key=lambda pair: pair[1])

# %%
for lm_i, word in itertools.product(lms[:40], range(3)):
    every = exhaustive_search(*lm_i.args, max_len=4)
    best = next(pair for pair in every if word in pair[0])
    assert same(forced_search(word, *lm_i.args, 36, 4), best)
    for place in range(3):
        found = beam_search(with_word(lm_i.step, word, place),
                            *lm_i.args[1:], 36, 4)
        assert {tokens[place] for tokens, _ in found
                if len(tokens) > place} == {word}

# %% tags=["rtol=0.3"]
word = data.tgt_vocab["pas" if real else "."]
forced = search_each(models[0], data, sentences[:20], lambda step, state: (
    forced_search(word, step, state, bos, eos, 4, max_len, 0, reorder)),
    (unk,))
assert all(word in tokens for tokens, _ in forced)
exact = [score for _, score in results[0][0][:20]]
assert all(score <= best + 1e-4 for (_, score), best in zip(forced, exact))
cost = mean(best - score for (_, score), best in zip(forced, exact))
print(f"the word costs {cost:.1f} in log-probability, on average over "
      f"{len(exact)} sentences")

# %% [markdown]
# ## Sources
#
# - B. T. Lowerre, The HARPY speech recognition system, Carnegie Mellon University, 1976: an early use of a beam, of all paths within a margin of the best.
# - D. Bahdanau, K. Cho and Y. Bengio, Neural machine translation by jointly learning to align and translate, 2014, [arXiv:1409.0473](https://arxiv.org/abs/1409.0473); L. Huang, K. Zhao and M. Ma, When to finish? Optimal beam search for neural text generation, 2017, [arXiv:1809.00069](https://arxiv.org/abs/1809.00069): its shrinking beam, and a safe rule for stopping.
# - P. Koehn and R. Knowles, Six challenges for neural machine translation, 2017, [arXiv:1706.03872](https://arxiv.org/abs/1706.03872): narrow beams help, wide ones harm.
# - K. Murray and D. Chiang, Correcting length bias in neural machine translation, 2018, [arXiv:1808.10006](https://arxiv.org/abs/1808.10006).
# - F. Stahlberg and B. Byrne, On NMT search errors and model errors: cat got your tongue?, 2019, [arXiv:1908.10090](https://arxiv.org/abs/1908.10090): exact search, empty translations.
# - A. Holtzman et al., The curious case of neural text degeneration, 2020, [arXiv:1904.09751](https://arxiv.org/abs/1904.09751): nucleus sampling.
# - Y. Leviathan, M. Kalman and Y. Matias, Fast inference from transformers via speculative decoding, 2022, [arXiv:2211.17192](https://arxiv.org/abs/2211.17192).
# - M. Freitag, B. Ghorbani and P. Fernandes, Epsilon sampling rocks: investigating sampling strategies for minimum Bayes risk decoding for machine translation, 2023, [arXiv:2305.09860](https://arxiv.org/abs/2305.09860).
# - C. Hokamp and Q. Liu, Lexically constrained decoding for sequence generation using grid beam search, 2017, [arXiv:1704.07138](https://arxiv.org/abs/1704.07138).
# - vLLM, [Speculative decoding](https://docs.vllm.ai/en/v0.19.0/features/speculative_decoding/).
# - Hugging Face, [Generation strategies](https://huggingface.co/docs/transformers/v5.8.0/generation_strategies): greedy search as the default.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the example of Figure 10.8.1 and the walk of Figure 10.8.2.
