# ---
# jupyter:
#   d2l:
#     data: [time-machine, austen, tiny-shakespeare]
#     profiles:
#       gpu: {}
#       smoke:
#         max_text: 100000
#         num_folds: 1
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
# # 9.3 Language models
#
# Which letter comes after "the time travelle"?
# A *language model* answers with a probability for every letter of the alphabet, and so assigns a probability to every text.
# This section builds such models by counting, before any network is trained: they are fast, they have two knobs, and the recurrent networks of this chapter have to beat them.
#
# **You will**
#
# - factor the probability of a text into conditional probabilities and estimate them from counts;
# - repair the counts by smoothing, and show that each repaired distribution still sums to 1;
# - measure models by perplexity and by bits per character, and avoid three mistakes in doing so;
# - find out how the best length of the context depends on the author and on the amount of text;
# - cut a text into minibatches in three ways.
#
# **Cost**: about 25 seconds on a CPU; nothing here uses a GPU; a download of 5 MB, once.

# %%
import math
import re

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.recurrent_neural_networks import (
    TextData, Vocab, read_text)

d2l.use_style()

# %% tags=["parameters"]
max_text = 3_000_000  # characters of Austen in the largest model
num_folds = 3  # test parts of each author

# %% [markdown]
# ## A probability for every text
#
# Let $x_1,\dots,x_T$ be the tokens of a text: words, or characters as in [Section 9.2](02-text-to-sequences.ipynb).
# The chain rule of probability splits their joint probability without any assumption:
#
# $$P(x_1,\dots,x_T)=\prod_{t=1}^{T}P(x_t\mid x_1,\dots,x_{t-1}). \tag{9.3.1}$$
#
# Here $T$ is the number of tokens, and the factor with $t=1$ is $P(x_1)$.
# For four words it reads $P(\text{deep})\,P(\text{learning}\mid\text{deep})\,P(\text{is}\mid\text{deep},\text{learning})\,P(\text{fun}\mid\text{deep},\text{learning},\text{is})$.
#
# With these factors one can *sample* a text, token by token.
# A model can also *choose*: "recognize speech" and "wreck a nice beach" sound alike, and a speech recognizer prefers the more probable one.
# In the same way it can rank the drafts of a translation.
#
# The trouble is the context, which grows with $t$: nearly every long context is new, and nothing was ever counted behind it.
# A *Markov model* of order $n-1$ therefore keeps the last $n-1$ tokens of the context ([Section 9.1](01-working-with-sequences.ipynb)).
# A run of $n$ tokens is an *n-gram*; with $n=1,2,3$ (9.3.1) becomes
#
# $$\begin{aligned}&\prod_tP(x_t),\qquad P(x_1)\prod_{t>1}P(x_t\mid x_{t-1}),\\&P(x_1)\,P(x_2\mid x_1)\prod_{t>2}P(x_t\mid x_{t-2},x_{t-1}),\end{aligned} \tag{9.3.2}$$
#
# the *unigram*, *bigram* and *trigram* models.
# We call $n$ the *order of the n-gram model*; it counts the predicted token too.
# The conditional probabilities are the parameters of the model, one for each n-gram: with $m$ different tokens these are $m^n$ numbers.
#
# ![The words deep, learning, is, fun in four rows. To predict fun, the unigram model sees nothing, the bigram model is, the trigram model learning and is, and a model without limit all three words.](img/lm-contexts.svg)
#
# **Figure 9.3.1.** What models of order 1, 2 and 3 keep of the context (blue) when they predict the last word (orange).
#
# The idea is old.
# In 1913 Markov counted by hand how vowels and consonants follow each other in 20,000 letters of Pushkin's *Eugene Onegin*; in 1948 Shannon sampled "approximations to English" from such tables, of letters and of words.

# %% [markdown]
# ## Counting
#
# What are good values for the parameters?
# Take one context, behind which token $j$ occurred $n_j$ times, $n=\sum_jn_j$ times in all.
# The log-likelihood of these occurrences is $\sum_jn_j\log p_j$, and the $p_j$ have to sum to 1.
# With a Lagrange multiplier $\lambda$ for this constraint, the derivative of $\sum_jn_j\log p_j+\lambda\bigl(1-\sum_jp_j\bigr)$ with respect to $p_j$ vanishes if $n_j/p_j=\lambda$.
# So $p_j=n_j/\lambda$ (also where $n_j=0$: such a token adds nothing to the sum), and the sum over $j$ gives $\lambda=n$; the logarithm is concave, so this is the maximum: *relative frequencies maximize the likelihood*,
#
# $$\hat P(x)=\frac{n(x)}{n},\qquad \hat P(x'\mid x)=\frac{n(x,x')}{n(x)}, \tag{9.3.3}$$
#
# where $n(x)$ counts $x$, in the second formula only where a token follows it, and $n(x,x')$ counts the pair.
# For example $\hat P(\text{learning}\mid\text{deep})$ is the number of times that "deep learning" occurs, divided by that of "deep".
#
# *The Time Machine* gives us 28 tokens: 26 letters, the space and `<unk>`, which does not occur.

# %%
names = {"Wells": "time-machine", "Austen": "austen",
         "Shakespeare": "tiny-shakespeare"}
texts = {author: TextData(name) for author, name in names.items()}
corpora, vocabs = {}, {}
for author, name in names.items():
    corpora[author], vocabs[author] = texts[author].build(read_text(name))
    print(f"{author}: {len(corpora[author]):,} characters")
corpus, vocab = corpora["Wells"], vocabs["Wells"]
m = len(vocab)
real = all(d2l.fetch(name).source == "real" for name in names.values())
assert all(v.idx_to_token == vocab.idx_to_token for v in vocabs.values())

# %%
pairs = torch.bincount(corpus[:-1] * m + corpus[1:],
                       minlength=m * m).reshape(m, m)  # rows: first token
bigram = pairs / pairs.sum(dim=1, keepdim=True).clamp(min=1)
raw = "".join(vocab.to_tokens(corpus))
t, h = vocab[["t", "h"]]
assert pairs.sum() == len(corpus) - 1 and pairs[t, h] == raw.count("th")
assert bigram[t, h] == raw.count("th") / raw.count("t")

# %% tags=["hide-input"]
shown = [i for i in range(m) if i != vocab.unk]
letters = [vocab.to_tokens(i).replace(" ", "_") for i in shown]
fig, ax = plt.subplots(figsize=(5.6, 4.6))
d2l.heatmap(bigram[shown][:, shown], xlabel="next character",
            ylabel="character", rows=letters, ax=ax)
ax.set_xticks(range(len(letters)), labels=letters)
ax.tick_params(labelsize=8)
d2l.describe(ax, """A matrix of 27 characters by 27 next characters. A few
    cells are bright: u after q, e after v, and the space after several
    letters; most cells are dark.""")
q, u, v, e, y, space = vocab[list("quvey ")]
if real:
    assert bigram[q, u] == 1 == (bigram.amax(dim=1) > 0.8).sum()
    assert min(bigram[v, e], bigram[y, space]) > 0.75

# %% [markdown]
# **Figure 9.3.2.** Bigram probabilities of *The Time Machine*, one distribution in each row; `_` is the space.
# In this book q is always followed by u; in the rows of v and y one cell holds more than three quarters.

# %% [markdown]
# ### What is never seen
#
# Longer contexts should predict better, but they are also rarer.
# We take little text, as the networks of this chapter will: the first 10,032 characters for training, and 5,032 for validation.

# %%
train, val = corpus[:10_032], corpus[10_000:15_032]
text_train, text_val = raw[:10_032], raw[10_000:15_032]
unseen = {}
for n in range(1, 7):
    known = {text_train[i:i + n] for i in range(len(text_train) - n + 1)}
    runs = [text_val[i:i + n] for i in range(32, len(text_val) - n + 1)]
    assert runs[0] == text_val[32:32 + n] and runs[-1] == text_val[-n:]
    unseen[n] = sum(run not in known for run in runs) / len(runs)
    print(f"{n}-grams: {len(known):5,} of {(m - 1)**n:,} possible seen; "
          f"of the new text {unseen[n]:.1%} never")
if real:
    assert unseen[2] < 0.02 and 0.1 < unseen[4] and unseen[6] > 0.5

# %% [markdown]
# Of the 6-grams in the new text most were never seen: relative frequencies give their last character the probability 0, or $0/0$ where the context is new as well.
# And a single factor 0 makes the whole product (9.3.1) 0.

# %% [markdown]
# ## Perplexity
#
# To compare models we need a measure.
# The likelihood of a text falls with its length, so we take the average over the tokens of $-\log P$, the cross-entropy of [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb), and undo the logarithm.
# The *perplexity* of a model on a text of $n$ tokens is
#
# $$\exp\Bigl(-\frac1n\sum_{t=1}^{n}\log P(x_t\mid x_1,\dots,x_{t-1})\Bigr). \tag{9.3.4}$$
#
# It is the reciprocal of the geometric mean of the probabilities that the model gave to what really came.
# A model that is always certain, and right, has perplexity 1; one that gives the probability 0 to a token that then comes has $\infty$; and one that spreads its belief evenly over $m$ tokens has exactly $m$.
# So a perplexity of 4 means: as uncertain, on average, as a choice among four equally likely tokens.
# Its logarithm to base 2 is the number of *bits per token* that an ideal compressor with this model would need.
# The word is from speech recognition (Jelinek, Mercer, Bahl and Baker, 1977).

# %% tags=["export"]
def perplexity(log_probs):
    """exp of minus the mean of the log-probabilities, any shape; a float."""
    log_probs = torch.as_tensor(log_probs, dtype=torch.float64)
    return torch.exp(-log_probs.mean()).item()

# %%
# check 9.3-C3: perfect, uniform, once certain of the wrong token, in between
assert perplexity(torch.zeros(5)) == 1
assert math.isclose(perplexity(torch.full((4, 7), 1 / 28).log()), 28,
                    rel_tol=1e-6)
assert perplexity(torch.tensor([0.5, 0.0, 1.0]).log()) == math.inf
two = torch.tensor([1 / 2, 1 / 4], dtype=torch.float64)
assert math.isclose(perplexity(two.log()), math.sqrt(8))
assert math.isclose(perplexity(two.log()), 2**((1 + 2) / 2))  # bits
assert math.isclose(perplexity([0.0, math.log(1 / 9)]), 3)  # in float64
assert math.isclose(perplexity(two.log().reshape(2, 1)), math.sqrt(8))

# %% [markdown]
# Three mistakes are easy to make.
#
# - *Averaging perplexities.* The exponential is convex, so by Jensen's inequality the mean of the perplexities of several batches of equal size is at least the exponential of their mean loss, and the gap grows with their spread. Average the losses of all tokens first.
# - *Comparing vocabularies.* A word is harder to guess than a letter, and a word that became `<unk>` is easy. What can be compared over different tokens is the total number of bits divided by the number of characters, or bytes, of the original text. Exercise 9.3-5 does it.
# - *Forgetting the context.* The first tokens of a window are predicted from little. We measure the effect at the end of the section.

# %%
# check 9.3-C9: the mean of perplexities is too large
rng = torch.Generator().manual_seed(93)
losses = 2 + 0.5 * torch.randn(1000, 40, generator=rng,
                               dtype=torch.float64)  # 40 batches, 1000 times
wrong, right = losses.exp().mean(dim=1), losses.mean(dim=1).exp()
assert (wrong > right).all()
print(f"mean of perplexities {wrong.mean():.2f}, "
      f"perplexity of all batches {right.mean():.2f}")
assert abs((wrong / right).mean() - math.exp(0.5**2 / 2)) < 0.02
same = torch.full((40,), 2.0).exp().mean()
assert math.isclose(same, perplexity(torch.full((40,), -2.0)), rel_tol=1e-6)

# %% [markdown]
# The factor between the two was no accident: for losses with a normal distribution of variance $\sigma^2$ it tends to $e^{\sigma^2/2}$ as the number of batches grows.

# %% [markdown]
# ## Smoothing
#
# An unseen n-gram is not impossible.
# *Additive smoothing* moves some probability to what was not seen: pretend that, before any counting, $\epsilon$ tokens had already been seen behind each context, distributed as a model of lower order predicts.
# With $m$ distinct tokens and a constant $\epsilon_k>0$ for each order $k$,
#
# $$\begin{aligned}\hat P(x)&=\frac{n(x)+\epsilon_1/m}{n+\epsilon_1},\\ \hat P(x'\mid x)&=\frac{n(x,x')+\epsilon_2\hat P(x')}{n(x)+\epsilon_2},\\ \hat P(x''\mid x,x')&=\frac{n(x,x',x'')+\epsilon_3\hat P(x''\mid x')}{n(x,x')+\epsilon_3},\end{aligned} \tag{9.3.5}$$
#
# and so on: order $k$ leans on order $k-1$, and order 0 is uniform, $1/m$.
# (A simpler form of the third formula leans on $\hat P(x'')$; ours uses the bigram, too.)
# In the denominators $n(x)$ and $n(x,x')$ count a context only where a token follows it.
# With $\epsilon_1=m$ the first formula adds one to each count, which is *Laplace smoothing* in the narrow sense.
# If "q" was seen 3 times, always before "u", $\hat P(u)=0.02$ and $\epsilon=5$, then $\hat P(u\mid q)=(3+5\cdot0.02)/(3+5)\approx0.39$.
# For $\epsilon\to0$ we get relative frequencies back where the context was seen, and for $\epsilon\to\infty$ the model of lower order.
#
# It is tempting to add $\epsilon$ itself to each count, $\frac{n(x,x')+\epsilon}{n(x)+\epsilon}$.
# Over the $m$ tokens $x'$ this sums to $\frac{n(x)+m\epsilon}{n(x)+\epsilon}$, which is not 1: behind an unseen context it is $m$.
#
# The recipe has a reason.
# Let the unknown distribution $\mathbf{p}$ behind a context have a Dirichlet prior with density proportional to $\prod_jp_j^{\epsilon q_j-1}$, where $\mathbf{q}$ is the prediction of the lower order.
# After the counts $n_j$ the posterior has the exponents $n_j+\epsilon q_j-1$, and its mean is $(n_j+\epsilon q_j)/(n+\epsilon)$, which is (9.3.5).
# MacKay and Peto built a language model on this idea in 1995.
#
# In code, (9.3.5) is one line in a loop over the orders:

# %% tags=["export"]
def smooth_counts(n, total, eps, vocab_size):
    """Probabilities of the orders 1 to K, each smoothed by the one below.

    `n` and `total` (K, N) are the counts of N runs of 1 to K tokens and of
    their contexts. Returns (K, N) in float64.
    """
    p = [torch.full(n[0].shape, 1 / vocab_size, dtype=torch.float64)]
    for n_k, total_k in zip(n, total):
        p.append((n_k + eps * p[-1]) / (total_k + eps))
    return torch.stack(p[1:])

# %%
one = torch.tensor([[60], [3]])  # u: 60 of 3000 characters; 3 of 3 behind q
p = smooth_counts(one, torch.tensor([[3000], [3]]), eps=5, vocab_size=28)
by_hand = [(60 + 5 / 28) / 3005, (3 + 5 * (60 + 5 / 28) / 3005) / 8]
assert p[:, 0].tolist() == by_hand and abs(by_hand[1] - 0.39) < 0.01

# %% [markdown]
# The rest is counting.
# A full table of $m^n$ cells is wasteful, since most cells are 0.
# We write a run of $k$ tokens as one integer, as the digits of a number in base $m$, and keep the sorted numbers that occur with their counts; a binary search finds them.
# The integer of the context is that of the run without its last digit.

# %% tags=["export"]
def look_up(table, codes):
    """Counts of `codes` in a table of (sorted codes, counts), else 0."""
    known, counts = table
    place = torch.searchsorted(known, codes).clamp(max=len(known) - 1)
    return torch.where(known[place] == codes, counts[place], 0)

# %% tags=["export"]
class NgramLM:
    """Counts of up to `order` neighbours, each order smoothed by the lower.

    `vocab_size` is the number of tokens m, `eps` > 0 the weight of the lower
    order in counts: the model of order k adds eps times the probability of
    order k - 1 to each count; order 0 is uniform, 1/m.
    """

    def __init__(self, order, vocab_size, eps):
        if vocab_size**order > 2**63:
            raise ValueError(f"{vocab_size}^{order} runs do not fit into 64 "
                             "bits; choose a lower order.")
        self.order, self.vocab_size, self.eps = order, vocab_size, eps

    def fit(self, tokens):
        """Count the runs of a sequence of indices (T,); returns self.

        A run counts as a context if a token follows it.
        """
        self.counts, self.contexts = [], []
        codes = torch.zeros_like(tokens)
        for k in range(self.order):  # append one token to each run
            codes = codes[:len(tokens) - k] * self.vocab_size + tokens[k:]
            self.counts.append(codes.unique(return_counts=True))
            self.contexts.append(
                (codes // self.vocab_size).unique(return_counts=True))
        return self

    def perplexity(self, tokens):
        """That of the tokens which `log_probs` scores, as a float."""
        return perplexity(self.log_probs(tokens))

# %% [markdown]
# A model of order $K$ contains all the lower ones, so one pass over a text scores every order on the same tokens.

# %% tags=["export"]
@add_to_class(NgramLM)
def tallies(self, runs):
    """Counts of the ends of runs (N, K), and of their contexts.

    Row k - 1 of both results (K, N) belongs to the last k tokens of the
    run: how often they occur, and how often those before the last do.
    """
    n, total, codes = [], [], torch.zeros_like(runs[:, 0])
    for k in range(runs.shape[1]):  # prepend one token to each run
        codes = codes + runs[:, -1 - k] * self.vocab_size**k
        n.append(look_up(self.counts[k], codes))
        total.append(look_up(self.contexts[k], codes // self.vocab_size))
    return torch.stack(n), torch.stack(total)


@add_to_class(NgramLM)
def log_probs_by_order(self, tokens):
    """log P of tokens order - 1, ..., T - 1 for each order: (order, N)."""
    n, total = self.tallies(tokens.unfold(0, self.order, 1))
    return smooth_counts(n, total, self.eps, self.vocab_size).log()


@add_to_class(NgramLM)
def log_probs(self, tokens):
    """log P of tokens order - 1, ..., T - 1 given those before, in
    float64; the first tokens, without a full context, have none."""
    return self.log_probs_by_order(tokens)[-1]


# %% [markdown]
# For sampling, and to see whether the probabilities sum to 1, we also need the distribution over all tokens behind one context.

# %% tags=["export"]
@add_to_class(NgramLM)
def distribution(self, context):
    """P of each token behind a list of indices: (vocab_size,), float64.

    Of the context the last order - 1 tokens are used, or fewer if it is
    shorter.
    """
    context = list(context)
    context = context[max(0, len(context) - self.order + 1):]
    runs = torch.tensor([[*context, x] for x in range(self.vocab_size)])
    return smooth_counts(*self.tallies(runs), self.eps, self.vocab_size)[-1]


@add_to_class(NgramLM)
def prob(self, context, token):
    """P(token | context) for indices."""
    return self.distribution(context)[token].item()


@add_to_class(NgramLM)
def lower(self, order):
    """The model of a lower order in this one; it shares the counts."""
    model = NgramLM(order, self.vocab_size, self.eps)
    model.counts, model.contexts = self.counts, self.contexts
    return model

# %%
# check 9.3-C1: every distribution sums to 1, the tempting one does not
model = NgramLM(3, m, eps=5.0).fit(train)
seen = torch.tensor([
    model.distribution([a, b]).sum() for a in range(m) for b in range(m)])
assert len(seen) == m**2 and (seen - 1).abs().max() < 1e-9
for short in ([], [t], [t, h, t, h]):
    assert abs(model.distribution(short).sum() - 1) < 1e-9
count, eps = pairs.double(), 0.5
tempting = (count + eps) / (count.sum(dim=1, keepdim=True) + eps)
n_x = count.sum(dim=1)
torch.testing.assert_close(tempting.sum(dim=1),
                           (n_x + m * eps) / (n_x + eps))
assert n_x[vocab.unk] == 0 and tempting[vocab.unk].sum() == m

# %%
# check 9.3-C2: no smoothing gives frequencies, much gives the lower order
book = NgramLM(2, m, eps=1e-9).fit(corpus)
for x in range(m):
    if x != vocab.unk:
        torch.testing.assert_close(book.distribution([x]),
                                   bigram[x].double(), rtol=0, atol=1e-7)
assert abs(book.prob([t], h) - raw.count("th") / raw.count("t")) < 1e-9
book.eps = 1e9  # outweighs all counts, at order 1 too: uniform
torch.testing.assert_close(book.log_probs(val).exp(),
                           torch.full((len(val) - 1,), 1 / m).double(),
                           rtol=0, atol=1e-4)
n, total = book.tallies(val.unfold(0, 2, 1))
plenty = torch.tensor([[10**12], [1]])  # but not that many at order 1
low, high = smooth_counts(n * plenty, total * plenty, 1e9, m)
torch.testing.assert_close(low, n[0] / total[0].double())
torch.testing.assert_close(high, low, rtol=0, atol=1e-4)

# %% tags=["hide-input"]
# check: counts by hand, contexts at the end of the text, lower orders
abra = torch.tensor([0, 1, 2, 0, 3, 0, 4, 0, 1, 2, 0])  # abracadabra
toy = NgramLM(3, 5, eps=2.0).fit(abra)
assert len(toy.counts) == len(toy.contexts) == 3
order1 = (5 + 2 / 5) / (11 + 2)  # a
order2 = (2 + 2 * order1) / (2 + 2)  # a behind r: 2 of 2
order3 = (2 + 2 * order2) / (2 + 2)  # a behind br: 2 of 2
assert math.isclose(toy.prob([1, 2], 0), order3)
assert math.isclose(toy.prob([2], 0), order2)
assert math.isclose(toy.prob([], 0), order1)
order2 = (2 + 2 * (2 + 2 / 5) / 13) / (4 + 2)  # b behind a: 2 of 4, not of 5
assert math.isclose(toy.prob([0], 1), order2)
assert math.isclose(toy.lower(2).prob([2, 0], 1), order2)
assert math.isclose(toy.prob([3, 3], 1),  # cc is new, behind c only a
                    2 / (1 + 2) * (2 + 2 / 5) / 13)
assert math.isclose(toy.prob([4, 1, 2], 0), toy.prob([1, 2], 0))
scores = toy.log_probs(abra)
assert scores.shape == (9,) and scores.dtype == torch.float64
assert math.isclose(scores[0].exp(), toy.prob([0, 1], 2))
assert math.isclose(scores[-1].exp(), toy.prob([1, 2], 0))
assert math.isclose(toy.perplexity(abra), perplexity(scores))
for k in (1, 2, 3):
    torch.testing.assert_close(toy.log_probs_by_order(abra)[k - 1],
                               toy.lower(k).log_probs(abra[3 - k:]))
assert look_up((torch.tensor([2, 5]), torch.tensor([7, 9])),
               torch.tensor([0, 2, 4, 5, 8])).tolist() == [0, 7, 0, 9, 0]

# %% tags=["hide-input"]
# check: 64 bits, the mean of the posterior, frequencies are most likely
NgramLM(63, 2, eps=1.0)
try:
    NgramLM(64, 2, eps=1.0)
    raise AssertionError("runs that do not fit into 64 bits")
except ValueError as error:
    assert "lower order" in str(error)
counts, q = torch.tensor([3.0, 0, 1]), torch.tensor([0.2, 0.5, 0.3])
torch.manual_seed(0)
prior = torch.distributions.Dirichlet(2 * q).sample((200_000,))
weight = (counts * prior.clamp(min=1e-30).log()).sum(dim=1).exp()
posterior_mean = (weight[:, None] * prior).sum(dim=0) / weight.sum()
torch.testing.assert_close(posterior_mean, (counts + 2 * q) / (4 + 2),
                           rtol=0, atol=0.01)
best = counts / 4  # frequencies against 1000 others: the likelihood
others = torch.distributions.Dirichlet(torch.ones(3)).sample((1000,))
assert ((torch.xlogy(counts, others).sum(dim=1))
        < torch.xlogy(counts, best).sum()).all()

# %% [markdown]
# ## How long a context?
#
# Now to the first measurement, on the small split.
# Every order has the same $\epsilon$; three values are tried.

# %%
def losses_by_order(model, tokens, grid):
    """Mean of -log P for each eps and order: (len(grid), order).

    All orders score the same tokens, those with a full context.
    """
    n, total = model.tallies(tokens.unfold(0, model.order, 1))
    return torch.stack([
        -smooth_counts(n, total, eps, model.vocab_size).log().mean(dim=1)
        for eps in grid])


small = NgramLM(6, m, eps=5.0).fit(train)
few_grid = [0.5, 5.0, 50.0]
small_table = losses_by_order(small, val, few_grid).exp()  # (3, 6)
cut = len(corpus) * 9 // 10
first, rest = corpus[:cut], corpus[cut:]
assert torch.equal(torch.cat((first, rest)), corpus)
large = NgramLM(6, m, eps=5.0).fit(first)
large_table = losses_by_order(large, rest, [*few_grid, 20.0]).exp()  # (4, 6)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6.6, 2.9), sharey=True)
orders = torch.arange(1, 7)
for ax, table, title in ((axes[0], small_table, "10,032 characters"),
                         (axes[1], large_table[:3], "first 90 % of the book")):
    d2l.plot(orders, list(table), [rf"$\epsilon$ = {e:g}" for e in few_grid],
             fmts=("o-", "s--", "^-."), xlabel="order", title=title, ax=ax)
axes[0].set_ylabel("perplexity on new text")
d2l.describe(axes, """Left: perplexity falls from 17 at order 1 to between 5
    and 7 at orders 4 to 6; for the smallest eps it turns at order 4 and
    rises to above 10. Right, with more text, it falls to about 4 for the
    two larger values.""")

# %% [markdown]
# **Figure 9.3.3.** Perplexity against the order for three strengths of smoothing.
# With $\epsilon=0.5$ longer contexts do harm: from order 5 on with little text, at order 6 with more than fifteen times as much.

# %%
# check 9.3-C4: the baselines on the small split, orders 1 to 5, eps = 5
small_split = small_table[1].tolist()
print("small split:", *(f"{value:.2f}" for value in small_split))
own_tokens = [small.lower(k).perplexity(val) for k in range(1, 6)]
if real:
    expected = [16.66, 9.55, 6.61, 5.57, 5.38]
    for value, own, target in zip(small_split, own_tokens, expected):
        assert abs(value - target) < 0.02 and abs(own - target) < 0.02

# %%
# check 9.3-C5: the first 90 % of the book against the last 10 %
print("whole book: ", *(f"{v:.2f}" for v in large_table[1].tolist()),
      f"(order 6 with eps = 20: {large_table[3, 5]:.2f})")
if real:
    for value, target in zip([*large_table[1].tolist(), large_table[3, 5]],
                             [16.73, 9.60, 6.39, 4.67, 4.16, 4.14, 4.00]):
        assert abs(value - target) < 0.02

# %%
# check 9.3-C6: order 6 overfits without enough smoothing
if real:
    assert small_table[0, 5] > 1.35 * small_table[0, 2]
    assert abs(small_table[0, 5] - 10.5) < 0.1
    assert small_table[2, 5] < small_table[2, 2]  # but not with eps = 50
    for table, best in ((small_table, 4), (large_table, 5)):
        assert table[0].argmin() + 1 == best
    assert 15 < len(first) / len(train) < 16
wide = NgramLM(10, m, eps=20.0).fit(train).perplexity(val)
print(f"order 6, eps 0.5: {small_table[0, 5]:.1f}, "
      f"order 3: {small_table[0, 2]:.1f}; order 10, eps 20: {wide:.2f}")
if real:
    assert abs(wide - 5.04) < 0.02

# %% [markdown]
# The small split is that of [Section 9.5](05-rnn-scratch.ipynb): a network that trains on it and stays above the 5-gram has lost to counting.
# Sections 10.1 and 10.2 count in the same way, on the splits that they use.
# The 5-gram is not the best that counting can do on the small split: order 10 with $\epsilon=20$, chosen on this very text, comes below 5.1.
#
# Order and $\epsilon$ have to be chosen together.
# With $\epsilon=0.5$ the 6-gram is worse than the trigram that it contains: behind a context seen once it gives more than two thirds of the probability to the one token that followed.
# With $\epsilon=50$ that token gets at most 0.02 more than the lower order gives it, and order 6 is better than order 3.
#
# What the orders know becomes visible when we sample from them, one character after the other:

# %%
def sample(model, prefix, num_tokens, generator):
    """`prefix`, a list of indices, and `num_tokens` more, drawn from P."""
    tokens = list(prefix)
    for _ in range(num_tokens):
        p = model.distribution(tokens)
        tokens.append(torch.multinomial(p, 1, generator=generator).item())
    return tokens


vocabulary = set(raw.split())
in_book = []  # share of the sampled words that are words of the book
for k in range(1, 7):
    rng = torch.Generator().manual_seed(93)
    tokens = sample(large.lower(k), vocab[list("the ")], 400, rng)
    text = "".join("?" if x == vocab.unk else vocab.to_tokens(x)
                   for x in tokens)
    words = text.split()[1:-1]
    in_book.append(sum(w in vocabulary for w in words) / len(words))
    print(f"{k}: {text[:60]}  ({in_book[-1]:.0%})")
assert tokens[:4] == vocab[list("the ")] and len(tokens) == 404
assert tokens == sample(large, tokens[:4], 400, rng.manual_seed(93))
if real:
    assert in_book[0] < 0.35 and in_book[-1] > 0.8 > in_book[1]

# %% [markdown]
# In parentheses: the share of the words in 400 sampled characters that occur in the book.
# The unigram model spells nonsense, and order 6 writes mostly words of the book, but they do not join into sentences: each character depends only on the five before it.

# %% [markdown]
# ## Three authors
#
# Are the best order and $\epsilon$ a property of this book, or of English?
# We compare three authors at equal amounts of text: the first 172,000 characters of *The Time Machine*, of Jane Austen's *Sense and Sensibility* and of a collection of Shakespeare's plays (there it covers *Coriolanus* and the beginning of *Richard III*).
# Each excerpt is cut into ten parts.
# One part is the test, the next one is for choosing order and $\epsilon$, and the other eight are for counting; this is repeated with three different test parts.

# %%
part = 17_200
grid = [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
max_order = 10
folds = [1, 4, 7][:num_folds]  # the test part; the next one is for choosing


def excerpt(author, start=0):
    """Ten parts (10, part) of an author's text, from `start` on."""
    return corpora[author][start:start + 10 * part].reshape(10, part)


def fit_fold(parts, fold):
    """A model of the eight parts that are not for choice or test."""
    rest = [i for i in range(10) if i not in (fold, fold + 1)]
    return NgramLM(max_order, m, eps=1.0).fit(parts[rest].flatten())


def choose(model, chosen_on, test):
    """The best order and eps on one text, and their loss on another."""
    scores = losses_by_order(model, chosen_on, grid)
    e, k = divmod(scores.argmin().item(), model.order)
    return k + 1, grid[e], losses_by_order(model, test, [grid[e]])[0, k].item()

# %%
own_parts = {author: excerpt(author) for author in names}
own_models, curves, picked = {}, {}, {}
for author, parts in own_parts.items():
    models = [fit_fold(parts, fold) for fold in folds]
    own_models[author] = models
    scores = torch.stack([losses_by_order(model, parts[fold + 1], grid)
                          for model, fold in zip(models, folds)])
    curves[author] = scores.amin(dim=1).exp()  # (folds, order)
    picked[author] = [choose(model, parts[fold + 1], parts[fold])
                      for model, fold in zip(models, folds)]
    print(f"{author}:", "; ".join(
        f"order {k}, eps {eps:g}, test perplexity {math.exp(loss):.2f}"
        for k, eps, loss in picked[author]))

# %%
# one of them again, from a model of its own
k, eps, loss = picked["Wells"][0]
parts, fold = own_parts["Wells"], folds[0]
again = NgramLM(k, m, eps).fit(torch.cat((parts[0], parts[3:].flatten())))
scored = again.log_probs(parts[fold][max_order - k:])
assert fold == 1 and abs(loss + scored.mean()) < 1e-9
assert abs(curves["Wells"][0, k - 1] - again.perplexity(
    parts[2][max_order - k:])) < 1e-9

# %%
ax = d2l.plot(range(2, max_order + 1),
              [curve.log().mean(dim=0).exp()[1:] for curve in curves.values()],
              list(curves), fmts=("o-", "s--", "^-."), xlabel="order",
              ylabel="perplexity at the best eps")
for i, curve in enumerate(curves.values()):
    ax.plot(range(2, max_order + 1), curve.T[1:], ".", color=f"C{i}",
            ms=4, alpha=0.6)
d2l.describe(ax, """Three falling curves that flatten from order 5 on, with a
    very shallow minimum between orders 6 and 8: Austen lowest at about 3.6,
    Wells at 3.9, Shakespeare highest at 4.3.""")

# %% [markdown]
# **Figure 9.3.4.** Perplexity against the order, at the best $\epsilon$ of each order, on the parts for choosing.
# Dots are the three parts, lines the perplexity over all three.

# %%
if real and num_folds == 3:
    for author, choices in picked.items():
        assert all(6 <= k <= 8 and eps == 20 for k, eps, _ in choices)
        flat = curves[author][:, 5:] / curves[author].amin(dim=1)[:, None]
        assert flat.max() < 1.02  # orders 6 to 10
        assert (curves[author][:, 3] / curves[author].amin(dim=1)).min() > 1.08
    worst = {a: max(p[2] for p in picked[a]) for a in names}
    best = {a: min(p[2] for p in picked[a]) for a in names}
    assert best["Austen"] < worst["Austen"] < best["Wells"]
    assert worst["Austen"] < best["Shakespeare"]

# %% [markdown]
# With 137,600 characters for counting, all nine runs choose order 6, 7 or 8 and $\epsilon=20$, and from order 6 to 10, each with its best $\epsilon$, the perplexity on the parts for choosing changes by less than 2 %.
# So in these excerpts, and on this grid of $\epsilon$, the two knobs are nearly the same for three authors, one of whom wrote mostly in verse, two to three centuries before the others.
# What differs is the level: *Sense and Sensibility* is easier to predict than the other two in all three test parts.
#
# ### Scored on another author
#
# How much of this is English, how much the author, and how much the book?
# For each author's test parts we take models of the same book, of another book of the same author where we have one (Austen's *Emma*; plays from *Romeo and Juliet* on), and of the other authors.
# The models have equal amounts of text, and each pair has its own order and $\epsilon$, chosen on a part of the text to be scored.

# %%
others = {"Wells": own_parts["Wells"], "Austen": own_parts["Austen"],
          "Austen, Emma": excerpt("Austen", 2_158_009),
          "Shakespeare": own_parts["Shakespeare"],
          "Shakespeare, others": excerpt("Shakespeare", 421_846)}
cross, chosen = {}, {}
for source, parts in others.items():
    models = own_models.get(source) or [fit_fold(parts, fold)
                                        for fold in folds]
    for author, target in own_parts.items():
        runs = [choose(model, target[fold + 1], target[fold])
                for model, fold in zip(models, folds)]
        chosen[source, author] = [(k, eps) for k, eps, _ in runs]
        cross[source, author] = torch.tensor([r[2] for r in runs]).exp()

# %%
matrix = torch.tensor([[cross[s, a].log().mean().exp() for a in names]
                       for s in others])
_, ax = plt.subplots(figsize=(5.8, 3.0))
d2l.heatmap(matrix, rows=list(others), cols=list(names), annotate=".2f",
            xlabel="scored text", ylabel="counted text", ax=ax)
ax.set_aspect("auto")
d2l.describe(ax, """Matrix of perplexities. On the diagonal, the same book,
    about 4.1, 3.6 and 4.3; another book of the same author 4.3 for Austen
    and 5.7 for Shakespeare; other authors 5.2 to 6.7.""")

# %% [markdown]
# **Figure 9.3.5.** Test perplexity of models (rows) on the texts of three authors (columns), over all three test parts, all models from 137,600 characters.

# %%
if real:  # where the two other books begin
    for s, title in (("Austen, Emma", "emma"),
                     ("Shakespeare, others", "sampson")):
        assert "".join(vocab.to_tokens(others[s][0, :len(title)])) == title
for a in names:  # the diagonal is the experiment above
    assert chosen[a, a] == [(k, eps) for k, eps, _ in picked[a]]
    losses = torch.tensor([loss for *_, loss in picked[a]])
    assert torch.equal(cross[a, a], losses.exp())
foreign = {a: torch.stack([cross[s, a] for s in others
                           if not s.startswith(a)]) for a in names}
if real and num_folds == 3:
    for a in names:
        assert (cross[a, a] < 0.9 * foreign[a].amin(dim=0)).all()
    timid = [eps for (s, a), c in chosen.items() if not s.startswith(a)
             for _, eps in c if eps in (50, 100)]
    assert len(timid) == 10 * num_folds - 1
    assert all(eps == 20 for a in names for _, eps in chosen[a, a])
    assert sorted(eps for s, a in (
        ("Austen, Emma", "Austen"), ("Shakespeare, others", "Shakespeare"))
        for _, eps in chosen[s, a]) == [20] + 5 * [50]
    for a, other in (("Austen", "Austen, Emma"),
                     ("Shakespeare", "Shakespeare, others")):
        assert (cross[other, a] > 1.1 * cross[a, a]).all()
        assert (cross[other, a] < 0.92 * foreign[a].amin(dim=0)).all()
print("chosen for other authors:", sorted({
    pair for (s, a), c in chosen.items() if not s.startswith(a)
    for pair in c}))

# %% [markdown]
# In these excerpts the same book is the best source in each column and each test part, and the other authors are the worst.
# Another book of the same author lies in between, so part of what looks like the author is the book.
# Away from its own book a model also wants another $\epsilon$: 20 in all nine cases at home, but 50 in five of six for another book of the author, and 50 or 100 in 29 of 30 for other authors.
# A larger $\epsilon$ means that the counts are trusted less.
#
# What is it that belongs to the book?
# One suspect can be removed: in the plays the speaker's name stands before each speech, and our two excerpts share few names.
# We delete these names, in the text for counting and in that for scoring.

# %%
plain = re.sub(r"(^|\n\n).*:(?=\n)", "\n\n", read_text("tiny-shakespeare"))
speech, _ = texts["Shakespeare"].build(plain, vocab)
start = len(speech) * 421_846 // len(corpora["Shakespeare"])
same, other = (speech[s:s + 10 * part].reshape(10, part) for s in (0, start))
unnamed = [torch.tensor([
    choose(fit_fold(parts, fold), same[fold + 1], same[fold])[2]
    for fold in folds]).exp() for parts in (same, other)]
no_names = unnamed[1] / unnamed[0]
names_kept = (cross["Shakespeare, others", "Shakespeare"]
              / cross["Shakespeare", "Shakespeare"])
for kind, ratio in (("with", names_kept), ("without", no_names)):
    print(f"perplexity from other plays / from the same, {kind} names:",
          *(f"{x:.2f}" for x in ratio))
if real and num_folds == 3:
    assert 1.25 < names_kept.min() < names_kept.max() < 1.45
    assert 1.1 < no_names.min() < no_names.max() < 1.2
    assert 0.4 < no_names.log().mean() / names_kept.log().mean() < 0.55
    assert 14 < 1 / (1 - len(speech) / len(corpora["Shakespeare"])) < 16

# %% [markdown]
# With the names the other plays give a perplexity about a third above that of the same plays, without them about a seventh.
# Deleting about a fifteenth of the text, the names of the speakers, removed about half of the gap in the loss: before you credit a gap to style, look at the format.
# (The excerpts keep their length, so without names they reach a little further into the plays.)

# %% [markdown]
# ## What more text does
#
# For more text we turn to more of the novels of Jane Austen.
# The test is now *Persuasion*; the text for counting begins with *Sense and Sensibility* and grows through *Pride and Prejudice* and *Mansfield Park* to *Emma*, from 10,000 to 3,000,000 characters.
# None of it is from the novel to be scored.
# With the same models we score the three test parts of *The Time Machine*.

# %%
sizes = [n for n in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
         if n <= max_text]
persuasion = excerpt("Austen", 3_500_000)
growth, enough, optimum, wells_by_size = [], [], [], []
for size in sizes:
    model = NgramLM(max_order, m, eps=1.0).fit(corpora["Austen"][:size])
    scores = torch.stack([losses_by_order(model, persuasion[fold + 1], grid)
                          for fold in folds]).mean(dim=0)
    growth.append(scores.amin(dim=0).exp())  # (order,)
    optimum.append([choose(model, persuasion[fold + 1], persuasion[fold])
                    for fold in folds])
    target = own_parts["Wells"]
    wells_by_size.append([choose(model, target[fold + 1], target[fold])
                          for fold in folds])
    good = growth[-1] <= 1.02 * growth[-1].min()
    enough.append(good.int().argmax().item() + 1)
    print(f"{size:9,} characters: best perplexity {growth[-1].min():.2f}, "
          f"within 2 % of it from order {enough[-1]} on; eps",
          [f"{eps:g}" for _, eps, _ in optimum[-1]])

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6.8, 3.1))
axes[0].set_prop_cycle(color=plt.cm.viridis(
    torch.linspace(0, 0.85, len(sizes)).numpy()))
d2l.plot(range(2, max_order + 1), [curve[1:] for curve in growth],
         [f"{size // 1000:,} k" for size in sizes], fmts=("o-",),
         xlabel="order", ylabel="perplexity", ylim=(3, 12), ax=axes[0])
by_size, to_wells = (
    torch.tensor([[loss for *_, loss in row] for row in rows]).exp()
    for rows in (optimum, wells_by_size))  # (sizes, folds)
d2l.plot(sizes, [x.log().mean(dim=1).exp() for x in (by_size, to_wells)],
         ["on Persuasion", "on Wells"], fmts=("o-", "s--"), xscale="log",
         xlabel="characters of Austen", ax=axes[1])
for i, dots in enumerate((by_size, to_wells)):
    axes[1].plot(sizes, dots, ".", color=f"C{i}", ms=4, alpha=0.6)
axes[1].axhline(cross["Wells", "Wells"].log().mean().exp(), color="C3",
                ls=":", label="Wells on Wells")
axes[1].legend()
d2l.describe(axes, """Left: perplexity against the order for six sizes of the
    text; the curves nearly agree at order 2 and fan out from order 3 on, the
    largest text lowest. Right: perplexity falls with the number of
    characters, from 7 to 3.2 on Persuasion, from 8 to 4.5 on Wells, which
    stays above the dotted line of a model of Wells at 4.1.""")

# %% [markdown]
# **Figure 9.3.6.** Left: perplexity on the parts of *Persuasion* for choosing, against the order, for growing amounts of text, at the best $\epsilon$ of each order.
# Right: test perplexity at the chosen order and $\epsilon$; dots are the three test parts, the dotted line is the model of Wells from 137,600 characters.

# %%
final = torch.stack(growth)  # (sizes, order)
assert sizes[-1] <= 3_000_000  # the test begins half a million later
for rows, scored in ((optimum, persuasion), (wells_by_size, target)):
    k, eps, loss = rows[0][0]  # again, from a model of its own
    again = NgramLM(k, m, eps).fit(corpora["Austen"][:sizes[0]])
    test = scored[folds[0]][max_order - k:]
    assert abs(again.log_probs(test).mean() + loss) < 1e-9
if real and num_folds == 3 and max_text >= 3_000_000:
    assert (by_size.diff(dim=0) < 0).all() and (to_wells.diff(dim=0) < 0).all()
    assert (final[0, :2] / final[-1, :2]).max() < 1.1  # orders 1 and 2
    assert 1.9 < final[0, 5] / final[-1, 5] < 2.1  # order 6
    assert final[2, 1] / final[-1, 1] < 1.02
    assert enough == sorted(enough) and enough[0] == 5 and enough[-1] == 8
    assert (final[:, 9] < 1.01 * final.amin(dim=1)).all()  # order 10
    assert min(eps for _, eps, _ in optimum[-1]) >= 50
    assert (to_wells[-1] > 1.04 * cross["Wells", "Wells"]).all()

# %% tags=["hide-input"]
# check: 300,000 characters of each of the four books are equally near
if real and num_folds == 3 and max_text >= 3_000_000:
    nearness = []
    for start, title in ((0, "sense"), (645_837, "pride"),
                         (1_305_062, "mansfield"), (2_158_009, "emma")):
        piece = corpora["Austen"][start:start + 300_000]
        assert "".join(vocab.to_tokens(piece[:len(title)])) == title
        model = NgramLM(max_order, m, eps=1.0).fit(piece)
        nearness.append(torch.tensor([
            choose(model, persuasion[fold + 1], persuasion[fold])[2]
            for fold in folds]).mean().exp().item())
    print("from each book:", *(f"{p:.2f}" for p in nearness))
    assert max(nearness) < 1.05 * min(nearness)
    assert abs(nearness[0] - by_size[3].log().mean().exp()) < 1e-4
    assert (by_size[3] / by_size[5] > 1.15).all()

# %% [markdown]
# Two readings.
# First, what text buys depends on the order.
# The bigram hardly changes after 100,000 characters; the 6-gram halves its perplexity, and longer contexts begin to pay: to be within 2 % of the best of the ten orders takes order 5 with 10,000 characters and order 8 with 3,000,000.
# So the order that suffices rises with the amount of text; a higher one needs more memory but does no harm here: with its own $\epsilon$, order 10 is within 1 % of the best at every size.
# (The gain is not that of a book nearer to *Persuasion*: models of the first 300,000 characters of each of the four agree to within 5 %.
# Up to 300,000 characters all of the text is from one book; from 1,000,000 on, more text also means more books, and the two are not told apart here.)
# Second, 3,000,000 characters of Austen predict *The Time Machine* less well than 137,600 of the same book, in all three test parts.
# Here nearness counts for more than a factor of twenty in the amount of text, though the curve is still falling.
#
# At the end of the curve the model needs about 1.7 bits per character.
# For another text in the same 27 characters, Shannon estimated in 1951, from a reader's guesses behind 100 known characters, an entropy between 0.6 and 1.3.

# %%
bits = by_size[-1].log2().mean().item()
print(f"{bits:.2f} bits per character")
if real and max_text >= 3_000_000:
    assert 1.6 < bits < 1.75

# %% [markdown]
# ### Limits of counting
#
# More text and better smoothing help, but some limits remain.
#
# - *Sparsity and storage.* A table for runs of four words out of 100,000 has $10^{20}$ cells (Exercise 9.3-1), and what is stored instead grows with the text.
# - *No similarity.* Having seen "the cat sleeps" makes "sleeps" no likelier behind an unseen "feline" than behind an unseen "table": tokens are different or equal, nothing in between.
# - *Novelty.* A long context is nearly always new, and a short one loses all that came before it.
#
# (9.3.5) is a simple method of smoothing; for models of words Chen and Goodman (1998) found a variant of the method of Kneser and Ney ahead of all others that they tried.
# N-gram models were a standard part of speech recognition and machine translation (in 2007 with up to 300 billion n-grams) before neural networks took their place.
# Today they serve for analysis and as a complement: infini-gram (2024) counts n-grams of any length in 5 trillion tokens and lowers the perplexity of neural models combined with it.

# %% [markdown]
# ## From text to minibatches
#
# A network does not read the whole book at once.
# It gets minibatches of windows of $n$ tokens, and the targets of a window are its tokens shifted by one: for the inputs $x_1,\dots,x_5$ they are $x_2,\dots,x_6$.
# There are three common ways to cut them, which differ in what an epoch covers.
#
# **Random offset.**
# Cut the text into pieces of length $n$, start at a random offset $d\in\{0,\dots,n-1\}$ that is drawn anew in each epoch, and shuffle the pieces.
# The last target needs one more token, so of $T$ tokens there are
#
# $$\Bigl\lfloor\frac{T-d-1}{n}\Bigr\rfloor \tag{9.3.6}$$
#
# pieces.
# For $T=35$, $n=5$ and $d=0$ that is $\lfloor34/5\rfloor=6$.
# A seventh piece of inputs would fit, but its last target would lie behind the end of the text.
#
# ![The text "the time machine by h g wells" twice. Above, from the third character on, five windows of five characters side by side. Below, the five target windows, each one character further to the right.](img/lm-windows.svg)
#
# **Figure 9.3.7.** The five pieces for $n=5$ and $d=2$, inputs above, targets below.

# %%
def offset_windows(corpus, num_steps, offset):
    """Inputs and targets (m, num_steps) that tile the corpus from `offset`.

    The targets are the inputs, one token later.
    """
    runs = corpus[offset:].unfold(0, num_steps + 1, num_steps)
    return runs[:, :-1], runs[:, 1:]


def random_offset_batches(corpus, batch_size, num_steps, generator=None):
    """One epoch of shuffled pieces (batch, num_steps) at a random offset.

    Yields pairs of inputs and targets; the last batch may be smaller.
    """
    offset = torch.randint(num_steps, (), generator=generator).item()
    X, Y = offset_windows(corpus, num_steps, offset)
    order = torch.randperm(len(X), generator=generator)
    for rows in order.split(batch_size):
        yield X[rows], Y[rows]

# %%
# check 9.3-C7: every offset on 35 tokens
counting = torch.arange(35)
for d in range(5):
    X, Y = offset_windows(counting, 5, d)
    assert X.shape == Y.shape == ((35 - d - 1) // 5, 5)
    assert torch.equal(X.flatten(), torch.arange(d, d + X.numel()))
    assert torch.equal(Y, X + 1) and Y.max() < 35  # all in range
    assert torch.equal(Y[:, :-1], X[:, 1:])
    assert 35 - 1 - Y.max() < 5  # no further piece fits

# %% tags=["hide-input"]
# check: one epoch has all pieces once, shuffled, and the generator decides
rng = torch.Generator().manual_seed(3)
offsets, firsts = set(), set()
for _ in range(60):
    batches = list(random_offset_batches(counting, 4, 5, rng))
    assert [len(X) for X, _ in batches] == [4, 2]
    X, Y = (torch.cat(side) for side in zip(*batches))
    assert torch.equal(Y, X + 1)
    d = X.min().item()
    tiles = offset_windows(counting, 5, d)[0]
    assert torch.equal(X[X[:, 0].argsort()], tiles)
    offsets.add(d), firsts.add((X[0, 0].item() - d) // 5)
assert offsets == set(range(5)) and firsts == set(range(6))
twice = [[X.tolist() for X, _ in random_offset_batches(
    counting, 4, 5, torch.Generator().manual_seed(8))] for _ in range(2)]
assert twice[0] == twice[1]
words_of_figure = offset_windows(corpus[:29], 5, 2)[0]
assert "|".join("".join(vocab.to_tokens(row)) for row in words_of_figure) == (
    raw[2:7] + "|" + raw[7:12] + "|" + raw[12:17] + "|" + raw[17:22] + "|"
    + raw[22:27])

# %% [markdown]
# **All windows.**
# The data class of this chapter keeps the windows of *every* offset.
# They overlap, so in an epoch nearly every character is used $n$ times, at every place of the window.

# %% tags=["export"]
class TimeMachine(TextData):
    """Windows of characters, and the same windows one character later.

    `X` and `Y` (num_windows, num_steps) are views of the corpus: window i
    begins at character i. Of the windows from `start` on the first
    `num_train` are for training, the next `num_val` for validation. `name`
    may be another text.
    """

    def __init__(self, batch_size, num_steps=32, num_train=10000,
                 num_val=5000, start=0, name="time-machine",
                 generator=None):
        super().__init__(name)
        self.save_hyperparameters()
        self.corpus, self.vocab = self.build(read_text(name))
        need = start + num_train + num_val
        self.X = self.corpus[:-1].unfold(0, num_steps, 1)
        self.Y = self.corpus[1:].unfold(0, num_steps, 1)
        if need > len(self.X):
            raise ValueError(f"{need} windows wanted, but the text has "
                             f"{len(self.X)}; ask for fewer.")

    def get_dataloader(self, train):
        first = self.start if train else self.start + self.num_train
        rows = slice(first, first + (self.num_train if train
                                     else self.num_val))
        return self.get_tensorloader((self.X, self.Y), train, rows)

# %%
# check 9.3-C8: the number of windows, and what 10,000 of them touch
data = TimeMachine(batch_size=1024,
                   generator=torch.Generator().manual_seed(0))
assert len(data.X) == len(data.Y) == len(data.corpus) - 32
if real:
    assert len(data.X) == 173_396
last, first_val = 9_999, 10_000
touched = last + 32 + 1  # with the last target
in_train = set(range(last, last + 33))
in_val = set(range(first_val, first_val + 33))
assert touched == len(train) and len(in_train & in_val) == 32
print(f"{touched:,} characters, {touched / len(data.corpus):.1%} of the book")
assert round(100 * touched / len(data.corpus), 1) == 5.8

# %% tags=["hide-input"]
# check: windows, split, shuffling, memory, another start and text
X, Y = next(iter(data.get_dataloader(train=False)))
assert X.shape == (1024, 32) and X.dtype == torch.int64
assert torch.equal(X[0], corpus[10_000:10_032])  # in order
assert torch.equal(Y[1], corpus[10_002:10_034])
assert torch.equal(data.X[5], corpus[5:37])
assert torch.equal(data.Y[5], corpus[6:38])
assert data.X.data_ptr() == data.corpus.data_ptr()  # a view
sides = {}
for is_train, size in ((True, 10_000), (False, 5_000)):
    batches = list(data.get_dataloader(is_train))
    assert [len(X) for X, _ in batches][:-1] == [1024] * (size // 1024)
    X, Y = (torch.cat(side) for side in zip(*batches))
    sides[is_train] = X
    assert len(X) == size and torch.equal(X[:, 1:], Y[:, :-1])
assert torch.equal(sides[False], data.X[10_000:15_000])
assert not torch.equal(sides[True], data.X[:10_000])
rank = torch.randint(1, 1 << 40, (32,),
                     generator=torch.Generator().manual_seed(1))
assert torch.equal((sides[True] * rank).sum(dim=1).sort().values,
                   (data.X[:10_000] * rank).sum(dim=1).sort().values)
other = TimeMachine(2, num_steps=8, num_train=4, num_val=6, start=50,
                    name="tiny-shakespeare")
assert torch.equal(next(iter(other.get_dataloader(False)))[1],
                   corpora["Shakespeare"][
                       torch.tensor([[55], [56]]) + torch.arange(8)])
X = torch.cat([X for X, _ in other.get_dataloader(True)])
assert {tuple(x) for x in X.tolist()} == {
    tuple(x) for x in other.X[50:54].tolist()} and len(X) == 4

# %% tags=["hide-input"]
# check: the generator orders the windows, too many are refused
orders = [next(iter(TimeMachine(
    16, generator=torch.Generator().manual_seed(seed)).get_dataloader(
        True)))[0] for seed in (1, 1, 2)]
assert torch.equal(orders[0], orders[1])
assert not torch.equal(orders[0], orders[2])
edge = len(data.X)
TimeMachine(8, num_train=edge - 100, num_val=99, start=1)
try:
    TimeMachine(8, num_train=edge - 100, num_val=100, start=1)
    raise AssertionError("more windows than the text has")
except ValueError as error:
    assert str(edge) in str(error)

# %% [markdown]
# So 10,000 windows are not 10,000 independent examples: they touch 5.8 % of the book.
# Neighbours share all characters but one, and the last training window shares 32 of its 33 characters with the first one for validation.
# Our numbers on the small split have that flaw, too, but it is small: it concerns 32 of 5032 characters.
#
# **Sequential.**
# The third way cuts the text into as many streams as the batch has rows, and reads them in order.
# Each row continues where the same row of the previous batch ended, so a recurrent network can carry its state on, and its context is not limited to the window.

# %%
def sequential_batches(corpus, batch_size, num_steps):
    """Batches (batch_size, num_steps) whose rows continue one another.

    Row i reads the i-th of `batch_size` streams of equal length. What does
    not fill a stream or a window is left out. Yields inputs and targets.
    """
    length = (len(corpus) - 1) // batch_size // num_steps * num_steps
    rows = torch.arange(batch_size) * ((len(corpus) - 1) // batch_size)
    index = rows[:, None] + torch.arange(length)  # (batch_size, length)
    for places in index.split(num_steps, dim=1):
        yield corpus[places], corpus[places + 1]

# %%
batches = list(sequential_batches(torch.arange(35), 2, 5))
for X, Y in batches:
    print(X.tolist())
assert [X.tolist() for X, _ in batches] == [
    [[i, i + 1, i + 2, i + 3, i + 4], [i + 17, i + 18, i + 19, i + 20, i + 21]]
    for i in (0, 5, 10)]
for (X, Y), (X_next, _) in zip(batches, batches[1:]):
    assert torch.equal(X_next[:, 0], Y[:, -1]) and torch.equal(Y, X + 1)
for T, count in ((21, 2), (20, 1)):  # 2 streams of 10 need 21 tokens
    batches = list(sequential_batches(torch.arange(T), 2, 5))
    assert len(batches) == count and batches[-1][1].max() < T

# %% [markdown]
# What does a window without a past cost?
# Let the 5-gram see only what lies in its window of 32 characters.
# At the first place it has one character of context and can use no more than its bigram, at the second the trigram, and from the fourth on everything.

# %%
model = NgramLM(5, m, eps=5.0).fit(train)
by_order = -model.log_probs_by_order(val).mean(dim=1)  # (5,)
used = [min(place + 2, 5) for place in range(32)]  # order at each place
fresh = math.exp(sum(by_order[k - 1].item() for k in used) / 32)
carried = math.exp(by_order[-1])
print(f"fresh windows {fresh:.2f}, context carried on {carried:.2f}")
if real:
    assert abs(fresh - 5.52) < 0.02 and abs(carried - 5.38) < 0.02
assert used[:5] == [2, 3, 4, 5, 5] and len(used) == 32

# %% [markdown]
# The same model, the same characters, and another perplexity.
# A network that starts each window afresh, as in Section 9.5, has a handicap of this kind when it is compared with these n-gram models.

# %% [markdown]
# ## Summary
#
# - A language model is a product of conditional probabilities; n-gram models keep the last $n-1$ tokens, and relative frequencies maximize their likelihood.
# - Smoothing by the lower order gives every text a positive probability, and each distribution still sums to 1, provided that the denominator grows by all that was added to the counts.
# - Perplexity is the exponential of the mean loss; across tokens only bits per character compare.
# - On 137,600 characters of each of three authors the best order was 6 to 8 and $\epsilon$ 20; the order needed to come within 2 % of the best rose with the amount of Austen.
# - The same book predicted best, another book of the author less well, and other authors worst; between plays, deleting the names of the speakers removed about half of the gap in the loss.
# - Windows can tile the text at a random offset, overlap, or continue one another; the last target needs one more token.

# %% [markdown]
# ## Exercises
#
# ### Exercise 9.3-1
#
# A four-gram model of words has a vocabulary of 100,000 words.
# How many cells do its tables have, and how many of them can a text of $T$ words fill?
# Count the distinct four-grams of words in the three texts.

# %% [markdown]
# #### Solution 9.3-1

# %% [markdown]
# The table for runs of four words has $(10^5)^4=10^{20}$ cells; those for runs of one to three words add only about a thousandth of a per cent to that.
# With 4 bytes each, these are 400 million terabytes.
# A text of $T$ words has $T-3$ runs of four, so at most that many cells are not 0.
# In these texts more than nine tenths of the runs are distinct, so a list of them is nearly as long as the text.

# %%
class WordText(TextData):
    """A text as a sequence of words."""

    def tokenize(self, text):
        return text.split()


cells = [100_000**k for k in (1, 2, 3, 4)]
assert cells[-1] == 10**20 and sum(cells[:-1]) / cells[-1] < 1.1e-5
assert 4 * cells[-1] / 10**12 == 4e8  # terabytes
filled = {}
for author, name in names.items():
    word_ids, word_vocab = WordText(name).build(read_text(name))
    runs = word_ids.unfold(0, 4, 1)
    codes = (runs * torch.tensor([16_384**k for k in range(4)])).sum(dim=1)
    assert len(word_vocab) < 16_384
    filled[author] = len(codes.unique()) / len(runs)
    assert len(runs) == len(word_ids) - 3
    print(f"{author}: {len(runs):,} runs, {filled[author]:.0%} distinct")
distinct = set(map(tuple, runs.tolist()))  # of the last text
assert len(codes.unique()) == len(distinct)
if real:
    assert min(filled.values()) > 0.9

# %% [markdown]
# ### Exercise 9.3-2
#
# Why should all orders share one $\epsilon$?
# Tune one for each order on the parts for choosing, and measure the gain on the test parts.

# %% [markdown]
# #### Solution 9.3-2

# %% [markdown]
# They need not: nothing in (9.3.5) asks for it, and one $\epsilon$ is only easier to choose.
# To see what that costs, we start at the common best value and improve one order at a time, twice around.
# On the parts for choosing the loss cannot rise.
# On the test parts of these three authors there is a gain in all nine cases, and it is below 1 %.
# For order 1 any value of the grid does: the counts are so large that $\epsilon$ changes the perplexity by less than 0.1 %.

# %%
def own_eps_loss(n, total, eps):
    """Mean of -log P of the highest order, with one eps for each order."""
    p = torch.full((n.shape[1],), 1 / m, dtype=torch.float64)
    for n_k, total_k, eps_k in zip(n, total, eps):
        p = (n_k + eps_k * p) / (total_k + eps_k)
    return -p.log().mean().item()


def tune_each(n, total, eps):
    """Improve one eps after the other, twice around; with all losses."""
    eps, trail = list(eps), [own_eps_loss(n, total, eps)]
    for k in list(range(len(eps))) * 2:
        tried = {e: own_eps_loss(n, total, [*eps[:k], e, *eps[k + 1:]])
                 for e in grid}
        eps[k] = min(tried, key=tried.get)
        trail.append(tried[eps[k]])
    return eps, trail

# %%
gain = {}
for author, parts in own_parts.items():
    gain[author] = []
    for fold in folds:
        model = own_models[author][folds.index(fold)].lower(7)
        on, test = (model.tallies(parts[i].unfold(0, 7, 1))
                    for i in (fold + 1, fold))
        shared = grid[losses_by_order(model, parts[fold + 1],
                                      grid)[:, -1].argmin()]
        eps, trail = tune_each(*on, [shared] * 7)
        assert trail == sorted(trail, reverse=True)
        assert len(trail) == 1 + 2 * 7 and trail[-1] == own_eps_loss(*on, eps)
        before, after = (math.exp(own_eps_loss(*test, e))
                         for e in ([shared] * 7, eps))
        gain[author].append(1 - after / before)
        spread = [own_eps_loss(*test, [e, *eps[1:]]) for e in grid]
        assert max(spread) - min(spread) < 1e-3
    print(f"{author}: gains", *(f"{g:.1%}" for g in gain[author]),
          "eps", [f"{e:g}" for e in eps])
    common = losses_by_order(model, parts[fold], [shared])[0, -1].item()
    assert math.isclose(own_eps_loss(*test, [shared] * 7), common)
if real and num_folds == 3:
    assert all(0 < g < 0.01 for gains in gain.values() for g in gains)

# %% [markdown]
# ### Exercise 9.3-3
#
# Does the random-offset scheme use all positions of the text equally often?
# Compute the expected number of times per epoch that position $i$ is an input, for $T=35$ and $n=5$.

# %% [markdown]
# #### Solution 9.3-3

# %% [markdown]
# In the middle it does, at the ends it does not.
# Position $i$ is an input for all offsets $d\le i$ whose pieces reach it.
# At the beginning, position $i<n-1$ is skipped by the offsets above $i$, so it is used with probability $(i+1)/n$; from $n-1$ on every offset reaches it.
# At the end, it depends on $T$: the last piece of offset $d$ ends before position $d+n\lfloor(T-d-1)/n\rfloor$.
# In between, every position is used exactly once per epoch, and on average equally often at each of the $n$ places of a piece.
# Within one epoch the pieces are not independent choices: neighbouring ones never overlap.

# %%
T, n = 35, 5
uses = torch.zeros(T, n)  # position, place in the piece
for d in range(n):
    X, _ = offset_windows(torch.arange(T), n, d)
    for place in range(n):
        uses[X[:, place], place] += 1 / n
expected = uses.sum(dim=1)
print([round(v, 1) for v in expected.tolist()])
torch.testing.assert_close(expected[:4], torch.tensor([0.2, 0.4, 0.6, 0.8]))
torch.testing.assert_close(expected[4:30], torch.ones(26))
torch.testing.assert_close(uses[4:30], torch.full((26, 5), 0.2))
ends = torch.tensor([d + n * ((T - d - 1) // n) for d in range(n)])
torch.testing.assert_close(
    expected[30:], torch.stack([(ends > i).float().mean()
                                for i in range(30, T)]))

# %% [markdown]
# ### Exercise 9.3-4
#
# Cut the raw text of *The Time Machine* into sentences, and make minibatches of whole sentences, padded to the longest of the batch.
# How must the loss treat the padding, and how much of a batch is padding if the sentences are shuffled, and if they are sorted by length?

# %% [markdown]
# #### Solution 9.3-4

# %% [markdown]
# Targets at the padding are not tokens of the text, so the mean runs over the other positions only; the mask says which.
# Sentences differ much in length, and in shuffled batches more than half of the places are padding.
# Sorting by length nearly removes it, at a price: batches then hold only short or only long sentences, so one usually sorts within large random groups of sentences.

# %%
sentences = [vocab[list(s)] for piece in re.split(
    r"[.!?]", read_text("time-machine"))
    if (s := texts["Wells"].preprocess(piece).strip())]


def padded(batch):
    """Indices (batch, longest) and a mask that is 1 at real tokens."""
    longest = max(map(len, batch))
    X = torch.tensor([s + [vocab.unk] * (longest - len(s)) for s in batch])
    lengths = torch.tensor([len(s) for s in batch])
    return X, torch.arange(longest) < lengths[:, None]


def padding_share(order):
    masks = [padded([sentences[i] for i in rows])[1]
             for rows in torch.tensor(order).split(32)]
    return 1 - sum(k.sum() for k in masks) / sum(k.numel() for k in masks)


rng = torch.Generator().manual_seed(4)
shuffled = torch.randperm(len(sentences), generator=rng).tolist()
by_length = sorted(shuffled, key=lambda i: len(sentences[i]))
share = [padding_share(order).item() for order in (shuffled, by_length)]
print(f"padding: shuffled {share[0]:.0%}, sorted {share[1]:.0%}")
assert share[0] > 0.3 and share[1] < 0.1
if real:
    assert share[0] > 0.5

# %%
few = sentences[:32]
X, mask = padded(few)
loss = X.float()  # stands for the losses of a model
masked = (loss * mask).sum() / mask.sum()
plain = torch.cat([loss[i, :len(s)] for i, s in enumerate(few)]).mean()
torch.testing.assert_close(masked, plain)
assert (loss.mean() - masked).abs() > 0.1
assert [X[i][mask[i]].tolist() for i in range(32)] == few

# %% [markdown]
# ### Exercise 9.3-5
#
# A word bigram on the first 90 % of *The Time Machine* has a perplexity in the hundreds, a 7-gram of characters one of about 4.
# Which is better?
# Convert both to bits per character.
# Then keep only words that occur at least 2, 5 or 10 times, let the others be `<unk>`, and find out why the perplexity of words alone cannot decide which vocabulary is best.

# %% [markdown]
# #### Solution 9.3-5

# %% [markdown]
# For the words we add up the bits of all words and divide by the number of characters, a space counted with each word.
# But a word that is `<unk>` is not yet written: a reader of the code would not know which word it was.
# To make up for that, the character model has to spell it, and its bits are added.
#
# The smaller the vocabulary, the lower the perplexity of the words: `<unk>` becomes frequent and easy to guess.
# With the spelling included, the best of the four keeps words that occur at least twice, and with $\epsilon=100$ for the words and 20 for the characters it is level with the 7-gram; before the spelling is added, every one of the four seems to be ahead.

# %%
all_words = raw.split()
cut = len(all_words) * 9 // 10
head, tail = all_words[:cut], all_words[cut:]
spelled = torch.tensor(vocab[list(" ".join(tail) + " ")])
before = torch.tensor(vocab[list(" ".join(head) + " ")])
letters_model = NgramLM(7, m, eps=20.0).fit(before)
letter_bits = -letters_model.log_probs(
    torch.cat((before[-6:], spelled))) / math.log(2)  # one per character
owner = torch.repeat_interleave(
    torch.arange(len(tail)), torch.tensor([len(w) + 1 for w in tail]))
by_letters = letter_bits.mean().item()
assert len(letter_bits) == len(owner) == len(spelled)

# %%
word_perplexity, bits_short, bits_full = [], [], []
for min_freq in (1, 2, 5, 10):
    words = Vocab(head, min_freq=min_freq)
    heads, tails = torch.tensor(words[head]), torch.tensor(words[tail])
    model = NgramLM(2, len(words), eps=100.0).fit(heads)
    scores = model.log_probs(torch.cat((heads[-1:], tails)))
    unknown = tails == words.unk
    short = -scores.sum().item() / math.log(2)
    word_perplexity.append(perplexity(scores))
    bits_short.append(short / len(spelled))
    bits_full.append((short + letter_bits[unknown[owner]].sum().item())
                     / len(spelled))
    print(f"min_freq {min_freq:2}: {unknown.float().mean():.0%} unknown, "
          f"perplexity {word_perplexity[-1]:.0f}, bits per character "
          f"{bits_short[-1]:.2f}, with spelling {bits_full[-1]:.2f}")
print(f"characters: {by_letters:.2f} bits per character")
assert word_perplexity == sorted(word_perplexity, reverse=True)
assert math.isclose(bits_short[0], math.log2(word_perplexity[0])
                    * len(tail) / len(spelled))
if real:
    assert word_perplexity[0] > 5 * word_perplexity[-1]
    assert min(bits_full) == bits_full[1] < bits_full[3] - 0.03
    assert abs(bits_full[1] - by_letters) < 0.05 < bits_full[0] - by_letters
    assert max(bits_short) < by_letters - 0.2  # before spelling

# %% [markdown]
# ### Exercise 9.3-6
#
# You want to model a dialogue, such as the plays of Shakespeare.
# Which tokens and separators do you need?
# Write the plays as one sequence from which speakers and speeches can be read back, even if a speech contains the text of a separator.

# %% [markdown]
# #### Solution 9.3-6

# %% [markdown]
# The sequence has to say who speaks, where the name ends, and where the speech ends, or a sampled dialogue never changes the speaker.
# We add two tokens to the characters: `<speaker>` before each name and `<speech>` behind it; the next `<speaker>` ends the speech.
# They are tokens of their own and not strings of characters, so no speech can forge them: the nine characters of a written `<speaker>` remain nine tokens.
# Chat models mark the turns of user and assistant in this way.

# %%
plays = [block.split(":\n", 1)
         for block in read_text("tiny-shakespeare").split("\n\n")]
turns = [(name.strip(), speech.strip()) for name, speech in
         (block for block in plays if len(block) == 2)]
turns.append(("FORGER", "my lord <speaker>KING:<speech>I yield"))
special = ["<speaker>", "<speech>"]


def encode(turns):
    """One list of tokens: special ones and characters."""
    return [token for name, speech in turns
            for token in (special[0], *name, special[1], *speech)]


def decode(tokens):
    """The (speaker, speech) pairs of such a list."""
    turns = []
    for token in tokens:
        if token == special[0]:
            turns.append(["", None])
        elif token == special[1]:
            turns[-1][1] = ""
        else:
            turns[-1][turns[-1][1] is not None] += token
    return [tuple(turn) for turn in turns]


tokens = encode(turns)
play_vocab = Vocab(tokens, reserved_tokens=special)
back = play_vocab.to_tokens(play_vocab[tokens])
assert decode(back) == turns and turns[-1] == decode(back)[-1]
assert tokens.count("<speaker>") == tokens.count("<speech>") == len(turns)
forged = re.split("<speaker>", "".join(tokens))[1:]  # as plain text
assert len(forged) == len(turns) + 1
print(len(turns), "turns,", len(play_vocab), "tokens")

# %%
indices = torch.tensor(play_vocab[tokens])
dialogue = NgramLM(6, len(play_vocab), eps=5.0).fit(indices)
rng = torch.Generator().manual_seed(6)
drawn = play_vocab.to_tokens(sample(
    dialogue, [play_vocab["<speaker>"]], 400, rng))
for name, speech in decode(drawn)[:3]:
    print(f"{name}: {(speech or '')[:50]!r}")
speakers = {name for name, _ in turns}
if real:
    assert len(decode(drawn)) > 2
    assert {name for name, _ in decode(drawn)[:2]} <= speakers

# %% [markdown]
# ## Sources
#
# - A. A. Markov, An example of statistical investigation of the text *Eugene Onegin* concerning the connection of samples in chains, lecture of 1913, English translation in Science in Context 19 (2006), [doi:10.1017/S0269889706001074](https://doi.org/10.1017/S0269889706001074).
# - C. E. Shannon, A mathematical theory of communication, Bell System Technical Journal 27 (1948), [doi:10.1002/j.1538-7305.1948.tb01338.x](https://doi.org/10.1002/j.1538-7305.1948.tb01338.x): approximations to English.
# - C. E. Shannon, Prediction and entropy of printed English, Bell System Technical Journal 30 (1951), [doi:10.1002/j.1538-7305.1951.tb01366.x](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x).
# - F. Jelinek, R. L. Mercer, L. R. Bahl and J. K. Baker, Perplexity: a measure of the difficulty of speech recognition tasks, Journal of the Acoustical Society of America 62 (1977), [doi:10.1121/1.2016299](https://doi.org/10.1121/1.2016299).
# - D. J. C. MacKay and L. C. Bauman Peto, A hierarchical Dirichlet language model, Natural Language Engineering 1 (1995), [abstract](http://www.inference.org.uk/mackay/abstracts/lang4.html): about as accurate as the smoothing of the time.
# - S. F. Chen and J. Goodman, An empirical study of smoothing techniques for language modeling, technical report, Harvard University, 1998; S. F. Chen and J. Goodman, An empirical study of smoothing techniques for language modeling, 1996, [doi:10.3115/981863.981904](https://doi.org/10.3115/981863.981904).
# - T. Brants, A. C. Popat, P. Xu, F. J. Och and J. Dean, Large language models in machine translation, EMNLP-CoNLL 2007, [D07-1090](https://aclanthology.org/D07-1090/): 300 billion n-grams.
# - J. Liu, S. Min, L. Zettlemoyer, Y. Choi and H. Hajishirzi, Infini-gram: scaling unbounded n-gram language models to a trillion tokens, 2024, [arXiv:2401.17377](https://arxiv.org/abs/2401.17377).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics, and the partition at a random offset.
