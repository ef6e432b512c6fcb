# ---
# jupyter:
#   d2l:
#     data: [brown]
#     profiles:
#       gpu: {}
#       smoke:
#         num_paragraphs: 300
#         num_words: 200
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
# # 15.1 Word embedding (word2vec)
#
# A network multiplies and adds, so each word must become a vector.
# Which vector should `cat` get so that it lies close to `dog` and far from `falls`, when nobody says what the words mean?
# The answer of word2vec is to predict the neighbours of each word in running text; this section writes its two models, derives their gradients, and measures what the vectors do and do not say.
#
# **You will**
#
# - write the likelihoods of skip-gram and of CBOW, and read their gradients as observed minus expected;
# - check both gradients against automatic differentiation, and train with them;
# - test with a shuffled text whether the vectors owe their grouping to context;
# - say what the likelihood fixes (the probabilities) and what it leaves open (lengths and angles).
#
# **Cost**: about ten seconds on a CPU, no use of a GPU; a download of 3 MB, once.

# %%
import math
from collections import Counter
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.texts import ToyWorld, word_sentences

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
num_paragraphs = 2000  # of the toy world, three sentences each
num_words = 1000  # most frequent words of the real text

# %% [markdown]
# ## One-hot words
#
# A vocabulary $\mathcal V$ numbers the words, and a one-hot vector $\mathbf e_i\in\mathbb R^{|\mathcal V|}$ says nothing but the number $i$.
# Any two different words are then equally far apart.
# The *cosine similarity* of two vectors $\mathbf x,\mathbf y$ of the same length, the dot product divided by both norms ([Section 2.3](../02-preliminaries/03-linear-algebra.ipynb)),
#
# $$\cos(\mathbf x,\mathbf y)=\frac{\mathbf x^\top\mathbf y}{\|\mathbf x\|\,\|\mathbf y\|}\in[-1,1], \tag{15.1.1}$$
#
# is 0 for each such pair: `cat` is as unlike `dog` as it is unlike `falls`.

# %%
# check 15.1-C4: the cosines of one-hot vectors are the identity
def cosines(W):
    """Cosine similarities (n, n) of the rows of W (n, d)."""
    A = F.normalize(W, dim=1)
    return A @ A.mT


assert torch.equal(cosines(torch.eye(7)), torch.eye(7))
W = torch.tensor([[3.0, 4.0], [-8.0, 6.0], [6.0, 8.0]])
torch.testing.assert_close(cosines(W)[0], torch.tensor([1.0, 0.0, 1.0]))

# %% [markdown]
# A *word embedding* gives each word a vector of $d$ real numbers, with $d$ far below $|\mathcal V|$, in which words may share directions.
# Where should the numbers come from?
# The *distributional hypothesis* of the linguists of the 1950s, among them Harris (1954) and Firth (1957), says that words which occur in similar contexts tend to have similar meanings.
# So *word2vec* (Mikolov et al., 2013) trains vectors to predict which words occur together, and labels come for free.
# Vectors of words were learned by predicting before: the neural language model of Bengio et al. (2003) is among the first.
# New was how little the model computes: no hidden layer, only dot products.
#
# ## Sliding a window
#
# Each word of a text is once the *center word*, and its *context words* are those at most $m$ places away.

# %% tags=["export"]
def skipgram_pairs(tokens, m):
    """All pairs of a word and a word at most m places away.

    `tokens` (T,) holds the integer indices of one sequence, such as a
    sentence. Returns integers (n, 2), center and context, in the order of
    the text; for T > m there are n = 2 m T - m (m + 1) pairs. Raises
    `ValueError` for words instead of indices, for another shape, and for
    m < 1. Source: Mikolov et al., 2013.
    """
    if len(tokens) and isinstance(tokens[0], str):
        raise ValueError(f"the first token is {tokens[0]!r}; look up the "
                         "indices of the words first.")
    tokens = torch.as_tensor(tokens).long()
    if tokens.ndim != 1 or m < 1:
        raise ValueError(f"tokens of shape {tuple(tokens.shape)} and m = {m}"
                         "; one sequence (T,) and m >= 1 are needed.")
    places = torch.arange(len(tokens), device=tokens.device)[:, None]
    shifts = torch.arange(-m, m + 1, device=tokens.device)
    near = places + shifts[shifts != 0]  # (T, 2m)
    inside = (near >= 0) & (near < len(tokens))
    centers = tokens[:, None].expand_as(near)[inside]  # (n,)
    return torch.stack((centers, tokens[near[inside]]), dim=1)

# %%
sentence = "the man loves his son".split()
pairs = skipgram_pairs(range(5), m=2)  # here word t has index t
fig, ax = plt.subplots(figsize=(6.4, 2.8))
for t in range(5):
    around = pairs[pairs[:, 0] == t, 1].tolist()
    for j, word in enumerate(sentence):
        color = ("#D55E00" if j == t else
                 "#56B4E9" if j in around else "#eeeeee")
        ax.add_patch(Rectangle((j + 0.04, -t - 0.8), 0.92, 0.7, fc=color))
        ax.text(j + 0.5, -t - 0.45, word, ha="center", va="center",
                color="white" if j == t else "black")
    ax.text(5.15, -t - 0.45, f"{len(around)} pairs", va="center")
ax.set(xlim=(0, 6), ylim=(-5, 0))
ax.axis("off")
d2l.describe(ax, """Five copies of the sentence the man loves his son, one
    below the other. In copy t the word t is orange, and the words at most
    two places away are blue. The numbers of pairs are 2, 3, 4, 3 and 2.""")

# %% [markdown]
# **Figure 15.1.1.** The window slides over a sentence: center word in orange, context words for $m=2$ in blue.
#
# A word inside the text has $2m$ context words, and $m(m+1)/2$ are missing at each end, so a text of $T>m$ words gives $2mT-m(m+1)$ pairs.

# %%
# check 15.1-C2: the number of pairs, and which pairs they are
assert pairs.tolist() == [[i, j] for i in range(5) for j in range(5)
                          if 1 <= abs(i - j) <= 2]
for T, m, n in ((5, 2, 14), (7, 2, 22), (6, 5, 30), (40, 1, 78)):
    text = torch.randint(9, (T,), generator=torch.Generator().manual_seed(T))
    found = skipgram_pairs(text, m)
    assert len(found) == n == 2 * m * T - m * (m + 1)
    assert found.tolist() == [[text[i], text[j]] for i in range(T)
                              for j in range(T) if 1 <= abs(i - j) <= m]
assert len(skipgram_pairs([3, 1], 5)) == 2  # the text is shorter than m
assert skipgram_pairs([], 2).shape == (0, 2)

# %% tags=["hide-input"]
for wrong, m in ((sentence, 2), ([1, 2], 0), ([[1, 2]], 2)):
    try:
        skipgram_pairs(wrong, m)
    except ValueError as error:
        print("ValueError:", error)
    else:
        raise AssertionError(f"{wrong} was accepted with m = {m}")

# %% [markdown]
# ## Skip-gram
#
# The *skip-gram* model lets the center word generate its context words, each independently of the others.
# Every word $i$ has two vectors: $\mathbf v_i\in\mathbb R^d$ is used when it is the center, $\mathbf u_i\in\mathbb R^d$ when it is in the context.
# The probability of the context word $w_o$ given the center word $w_c$ is a softmax over the vocabulary,
#
# $$P(w_o\mid w_c)=\frac{\exp(\mathbf u_o^\top\mathbf v_c)}{\sum_{i\in\mathcal V}\exp(\mathbf u_i^\top\mathbf v_c)}, \tag{15.1.2}$$
#
# and the likelihood of a text $w^{(1)},\dots,w^{(T)}$ with window $m$ is
#
# $$\prod_{t=1}^T\ \prod_{-m\le j\le m,\ j\ne0}P(w^{(t+j)}\mid w^{(t)}), \tag{15.1.3}$$
#
# where places outside the text are left out.
# The position $j$ does not enter the model, so word order inside the window is lost.
# Training maximizes the logarithm of (15.1.3), one term for each pair of Figure 15.1.1.
#
# In code the vectors are the rows of two tables `V` and `U`, both $(|\mathcal V|,d)$.
# `V` belongs to the words that go in and `U` to the word that comes out, here and below for CBOW.

# %% tags=["export", "hide-input"]
def check_words(U, V, inputs, outputs):
    """The indices as tensors; `ValueError` unless everything fits.

    U and V need the same shape (words, d), and `inputs` (..., k) or (...)
    and `outputs` (...) must be integers.
    """
    inputs, outputs = (torch.as_tensor(index, device=U.device)
                       for index in (inputs, outputs))
    if U.ndim != 2 or U.shape != V.shape:
        raise ValueError(f"U has shape {tuple(U.shape)} and V "
                         f"{tuple(V.shape)}; both need (words, d).")
    if inputs.is_floating_point() or outputs.is_floating_point():
        raise ValueError(f"indices of words are of types {inputs.dtype} and "
                         f"{outputs.dtype}; convert them to integers.")
    if outputs.shape not in (inputs.shape, inputs.shape[:-1]):
        raise ValueError(f"words of shapes {tuple(inputs.shape)} and "
                         f"{tuple(outputs.shape)} do not belong together; "
                         "give one output for each input.")
    return inputs, outputs

# %% tags=["export"]
def softmax_logprob(U, H, y):
    """log P of the words y (...) with scores H @ U.mT, for H (..., d)."""
    log_p = F.log_softmax(H @ U.mT, dim=-1)  # (..., words)
    return log_p.gather(-1, y[..., None]).squeeze(-1)


def skipgram_logprob(U, V, c, o):
    """log P(o | c) of the skip-gram model, (15.1.2).

    U and V (words, d) hold context and center vectors, c and o (...) the
    indices of center and context words; the result (...) is in nats. Raises
    `ValueError` if shapes or types do not fit. Source: Mikolov et al., 2013.
    """
    c, o = check_words(U, V, c, o)
    return softmax_logprob(U, V[c], o)

# %% [markdown]
# With $d=2$, $\mathbf v_c=(1,0)$ and three words with $\mathbf u_0=(2,0)$, $\mathbf u_1=(0,1)$, $\mathbf u_2=(-1,1)$, the scores are 2, 0 and $-1$, and $P=(0.84,0.11,0.04)$.

# %%
# check 15.1-C3: probabilities of all words sum to 1
U3 = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 1.0]], dtype=f64)
V3 = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=f64)
P = skipgram_logprob(U3, V3, [0, 0, 0], [0, 1, 2]).exp()
print("P(. | w_0) =", [round(p, 3) for p in P.tolist()])
powers = torch.tensor([2.0, 0.0, -1.0], dtype=f64).exp()
torch.testing.assert_close(P, powers / powers.sum())
generator = torch.Generator().manual_seed(0)
U, V = torch.randn(2, 50, 8, generator=generator, dtype=f64)
c, o = torch.cartesian_prod(torch.arange(50), torch.arange(50)).T
total = skipgram_logprob(U, V, c, o).exp().reshape(50, 50).sum(dim=1)
torch.testing.assert_close(total, torch.ones(50, dtype=f64))
assert skipgram_logprob(U, V, 3, 4).shape == ()

# %% [markdown]
# ### Observed minus expected
#
# The logarithm of (15.1.2) is $\mathbf u_o^\top\mathbf v_c-\log\sum_i\exp(\mathbf u_i^\top\mathbf v_c)$.
# Differentiating it with respect to the center vector, the second term gives each $\mathbf u_j$ with the factor $\exp(\mathbf u_j^\top\mathbf v_c)/\sum_i\exp(\mathbf u_i^\top\mathbf v_c)$, which is the probability of word $j$:
#
# $$\frac{\partial\log P(w_o\mid w_c)}{\partial\mathbf v_c}=\mathbf u_o-\sum_{j\in\mathcal V}P(w_j\mid w_c)\,\mathbf u_j. \tag{15.1.4}$$
#
# The first vector is that of the context word which was *observed*; the sum is the one that the model *expected*.
# For the context vectors,
#
# $$\frac{\partial\log P(w_o\mid w_c)}{\partial\mathbf u_j}=\bigl(\mathbf 1[j=o]-P(w_j\mid w_c)\bigr)\,\mathbf v_c, \tag{15.1.5}$$
#
# where $\mathbf 1[\cdot]$ is 1 for a true statement and 0 otherwise: uphill steps pull $\mathbf u_o$ towards $\mathbf v_c$ and push all others away from it, the more so the more probable the model held them.
# In the example, if $w_1$ was observed, (15.1.4) is $(0,1)-0.84\,(2,0)-0.11\,(0,1)-0.04\,(-1,1)=(-1.65,0.84)$.

# %% tags=["export"]
def residuals(U, H, y):
    """Observed minus expected, (n, words): 1 at the words y (n,), minus P.

    P is the softmax of the scores H @ U.mT of the hidden vectors H (n, d).
    """
    R = -torch.softmax(H @ U.mT, dim=-1)  # (n, words)
    R[torch.arange(len(y), device=y.device), y] += 1
    return R


def skipgram_grads(U, V, c, o):
    """Gradients of the sum of log P(o | c) with respect to U and V.

    Arguments as for `skipgram_logprob`, with vectors c and o (n,). Returns
    (grad_U, grad_V), both (words, d), by (15.1.4) and (15.1.5). Source:
    Rong, 2014.
    """
    c, o = check_words(U, V, c, o)
    R = residuals(U, V[c], o)  # (n, words)
    grad_V = torch.zeros_like(V).index_add(0, c, R @ U)
    return R.mT @ V[c], grad_V

# %%
# check 15.1-C1: closed forms equal automatic differentiation (skip-gram)
grad_U3, grad_V3 = skipgram_grads(U3, V3, [0], [1])
print("gradient of v_0:", [round(g, 3) for g in grad_V3[0].tolist()])
assert (grad_V3[1:] == 0).all()  # only the center word moves in V
torch.testing.assert_close(grad_U3, torch.outer(
    torch.tensor([0.0, 1.0, 0.0], dtype=f64) - P, V3[0]))


def autograd(logprob, U, V, *indices):
    """Gradients of the summed log-probabilities by reverse mode."""
    tables = [W.clone().requires_grad_() for W in (U, V)]
    return torch.autograd.grad(logprob(*tables, *indices).sum(), tables)


c, o = torch.randint(50, (2, 300), generator=generator)  # with repetitions
for ours, theirs in zip(skipgram_grads(U, V, c, o),
                        autograd(skipgram_logprob, U, V, c, o)):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)

# %% tags=["hide-input"]
context_vectors = torch.tensor([[1.5, 0.3], [-0.5, 1.3], [-1.2, -0.5],
                                [0.7, -1.2]], dtype=f64)
center = torch.tensor([[1.1, 0.25]], dtype=f64)
R = residuals(context_vectors, center, torch.tensor([1]))  # (1, 4)
expected = context_vectors[1] - (R @ context_vectors)[0]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
arrow = {"arrowstyle": "-|>", "lw": 2, "shrinkA": 0, "shrinkB": 0}
for j, (x, y) in enumerate(context_vectors.tolist()):
    name = "$\\mathbf{u}_o$" if j == 1 else f"$\\mathbf{{u}}_{j}$"
    for ax in axes:
        ax.annotate("", (x, y), (0, 0), arrowprops=arrow | {
            "color": "C1" if j == 1 else "#999999", "lw": 1.2})
        ax.text(1.12 * x - 0.06, 1.12 * y, name, ha="center", va="center")
    tip = context_vectors[j] + 1.2 * R[0, j] * center[0]
    axes[1].annotate("", tip.tolist(), (x, y), arrowprops=arrow | {
        "color": "C1" if j == 1 else "C0"})
axes[0].annotate("", expected.tolist(), (0, 0), arrowprops=arrow | {
    "color": "black", "lw": 1.2})
axes[0].text(expected[0] + 0.08, expected[1] - 0.2, "expected")
axes[0].annotate("", context_vectors[1].tolist(), expected.tolist(),
                 arrowprops=arrow | {"color": "C1"})
axes[0].set_title("gradient of $\\mathbf{v}_c$: observed minus expected")
axes[1].annotate("", center[0].tolist(), (0, 0), arrowprops=arrow | {
    "color": "C3"})
axes[1].text(1.12, 0.02, "$\\mathbf{v}_c$", color="C3")
axes[1].set_title("gradients of the $\\mathbf{u}_j$: one pull, three pushes")
for ax in axes:
    ax.set(xlim=(-1.9, 2.1), ylim=(-1.7, 1.7), aspect="equal")
d2l.describe(axes, """Two panels with four context vectors from the origin.
    Left, an orange arrow goes from the expected vector, near u_0, to the
    observed vector u_o. Right, at the tip of u_o an orange arrow points in
    the direction of the center vector, and at the tips of the others blue
    arrows point the opposite way; the one at u_0, the most probable word,
    is the longest of these.""")

# %% [markdown]
# **Figure 15.1.2.** The gradient as pull and push, in two dimensions.
# Left: the center vector moves by the orange arrow, from the expected to the observed context vector.
# Right: the context vectors move parallel to $\mathbf v_c$, the observed one forwards, each other one backwards in proportion to its probability.

# %% [markdown]
# A step forgets nothing about the other pairs, it only trades: (15.1.4) summed over all pairs with the same center vanishes where the average observed vector equals the expected one.
#
# ## CBOW
#
# The *continuous bag of words* model (CBOW) turns the arrow around: the $2m$ context words $\mathcal W_o=\{w_{o_1},\dots,w_{o_{2m}}\}$ together predict the center word.
# Their input vectors are averaged,
#
# $$\bar{\mathbf v}_o=\frac1{2m}\sum_{k=1}^{2m}\mathbf v_{o_k},\qquad P(w_c\mid\mathcal W_o)=\frac{\exp(\mathbf u_c^\top\bar{\mathbf v}_o)}{\sum_{i\in\mathcal V}\exp(\mathbf u_i^\top\bar{\mathbf v}_o)}, \tag{15.1.6}$$
#
# with $\mathbf v_i$ now the vector of a *context* word and $\mathbf u_i$ that of a *center* word, both in $\mathbb R^d$.
# By the chain rule each context word receives its share of (15.1.4),
#
# $$\frac{\partial\log P(w_c\mid\mathcal W_o)}{\partial\mathbf v_{o_k}}=\frac1{2m}\Bigl(\mathbf u_c-\sum_{j\in\mathcal V}P(w_j\mid\mathcal W_o)\,\mathbf u_j\Bigr), \tag{15.1.7}$$
#
# and a word that occurs twice among them receives two shares (Exercise 15.1-4).

# %% tags=["export"]
def cbow_logprob(U, V, context, c):
    """log P(c | context) of the CBOW model, (15.1.6).

    U and V (words, d) hold center and context vectors, `context` (..., k)
    the indices of k context words and c (...) the center words; the result
    (...) is in nats. At the end of a text k may be smaller. Raises
    `ValueError` if shapes or types do not fit. Source: Mikolov et al., 2013.
    """
    context, c = check_words(U, V, context, c)
    if context.ndim == c.ndim or not context.shape[-1]:
        raise ValueError(f"context has shape {tuple(context.shape)}; it "
                         "needs at least one word for each center word.")
    return softmax_logprob(U, V[context].mean(dim=-2), c)


def cbow_grads(U, V, context, c):
    """Gradients of the sum of log P(c | context) with respect to U and V.

    Arguments as for `cbow_logprob`, with `context` (n, k) and c (n,).
    Returns (grad_U, grad_V), both (words, d), by (15.1.7). Source: Rong,
    2014.
    """
    context, c = check_words(U, V, context, c)
    H = V[context].mean(dim=1)  # (n, d)
    R = residuals(U, H, c)  # (n, words)
    share = (R @ U / context.shape[1]).repeat_interleave(
        context.shape[1], dim=0)  # (n * k, d)
    grad_V = torch.zeros_like(V).index_add(0, context.flatten(), share)
    return R.mT @ H, grad_V

# %%
# check 15.1-C1: closed forms equal automatic differentiation (CBOW)
context = torch.randint(50, (300, 4), generator=generator)
for ours, theirs in zip(cbow_grads(U, V, context, c),
                        autograd(cbow_logprob, U, V, context, c)):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
torch.testing.assert_close(  # one context word: skip-gram, turned around
    cbow_logprob(U, V, o[:, None], c), skipgram_logprob(U, V, o, c))

# %% tags=["hide-input"]
cases = [(skipgram_logprob, U, V[:9], c, o),
         (skipgram_logprob, U, V, c.float(), o),
         (skipgram_logprob, U, V, c, o[:7]),
         (cbow_logprob, U, V, c, c), (cbow_logprob, U, V, context[:, :0], c)]
for function, *wrong in cases:
    try:
        function(*wrong)
    except ValueError as error:
        print("ValueError:", error)
    else:
        raise AssertionError(f"{function.__name__} accepted a wrong input")

# %% [markdown]
# The factor $\frac1{2m}$ of (15.1.7) is easily lost.
# İrsoy, Benton and Stratos (2021) report that the original program and Gensim lack it, in the versions with negative sampling; with the right gradient they found CBOW as good as skip-gram on their tests, and faster to train.
# So be careful with the common advice that skip-gram gives better vectors.
#
# ### The same loss as next-token prediction
#
# In layers of PyTorch, skip-gram is an `nn.Embedding` that looks up $\mathbf v_c$, an `nn.Linear` without bias whose weight is $\mathbf U$, and cross-entropy.
# CBOW replaces the look-up of one vector by the mean of several, an `nn.EmbeddingBag`.
# A language model ([Section 9.3](../09-recurrent-neural-networks/03-language-models.ipynb)) has the same last layer and the same loss.
# Only the function that turns the context into a vector differs: the look-up of one word, a mean over a window, a recurrent state, or a Transformer that reads everything before the next token.

# %%
lookup, bag = nn.Embedding(50, 8), nn.EmbeddingBag(50, 8, mode="mean")
output = nn.Linear(8, 50, bias=False)
for layer, W in ((lookup, V), (bag, V), (output, U)):
    layer.weight = nn.Parameter(W.clone())
for first, words, target, grads in (
        (lookup, c, o, skipgram_grads(U, V, c, o)),
        (bag, context, c, cbow_grads(U, V, context, c))):
    output.zero_grad()
    loss = F.cross_entropy(output(first(words)), target, reduction="sum")
    loss.backward()  # the loss is minus the log-likelihood
    for layer, ours in zip((output, first), grads):
        torch.testing.assert_close(-layer.weight.grad, ours)

# %% [markdown]
# ### What one pair costs
#
# Every pair needs all $|\mathcal V|$ scores, a product of a $d$-vector and the whole table: $2|\mathcal V|d$ operations, and with both gradients $6|\mathcal V|d$.

# %%
def flops(compute):
    """Operations of the matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()


for size in (1000, 10_000, 100_000):
    table = torch.empty(size, 300, device="meta")  # a shape, no numbers
    args = table, table, torch.zeros(1, dtype=int, device="meta")
    cost = [flops(lambda: f(*args, args[-1]))
            for f in (skipgram_logprob, skipgram_grads)]
    print(f"{size:6} words, d = 300: {cost[0]:.1e} operations forward, "
          f"{cost[1]:.1e} with gradients")
    assert cost == [2 * size * 300, 6 * size * 300]

# %% [markdown]
# Of these, only the rows $c$ of `V` and $o$ of `U` know anything about the pair; the rest is normalization.
# [Section 15.2](02-approximate-training.ipynb) avoids it.
# For a small vocabulary we can afford it, and see the undisturbed optimum.
#
# ## A world of 39 words
#
# `ToyWorld` makes short sentences about scenes, from a noun, an adjective, a verb and a place, such as "the old owl rises near the river .".
# It never says which word is which.
# A window of five reaches over nearly the whole sentence, and pairs do not cross its end.
#
# Equal pairs have equal terms in the log-likelihood, so their *counts* are enough: let $x_{ij}$ be the number of pairs with center $i$ and context $j$, $x_i=\sum_jx_{ij}$, and $n=\sum_ix_i$.
# The loss per pair and its gradients are
#
# $$L=-\frac1n\sum_{i,j}x_{ij}\log P(w_j\mid w_i),\quad\frac{\partial L}{\partial\mathbf U}=-\mathbf R^\top\mathbf V,\quad\frac{\partial L}{\partial\mathbf V}=-\mathbf R\,\mathbf U,\quad R_{ij}=\frac{x_{ij}-x_iP(w_j\mid w_i)}n, \tag{15.1.8}$$
#
# with $\mathbf R\in\mathbb R^{|\mathcal V|\times|\mathcal V|}$, again observed minus expected.
# One full-batch step takes products of small matrices, whatever the length of the text.

# %%
index = {word: i for i, word in enumerate(ToyWorld.words)}


def toy_pairs(seed, shuffle=False):
    """Pairs (n, 2) of a toy text, or of its words in random order."""
    world = ToyWorld(seed)
    text = [[index[word] for word in sentence]
            for _ in range(num_paragraphs) for sentence in world.paragraph()]
    words = torch.tensor([i for sentence in text for i in sentence])
    if shuffle:
        words = words[torch.randperm(
            len(words), generator=torch.Generator().manual_seed(seed))]
    lengths = [len(sentence) for sentence in text]
    return torch.cat([skipgram_pairs(s, 5) for s in words.split(lengths)])


def counts_of(pairs, size):
    """Counts x_ij (size, size) in float64 of pairs of indices (n, 2)."""
    codes = pairs[:, 0] * size + pairs[:, 1]
    return torch.bincount(codes, minlength=size**2).double().view(size, size)


size = len(index)
pairs = {seed: toy_pairs(seed) for seed in range(3)}
X = {seed: counts_of(pairs[seed], size) for seed in range(3)}
shuffled = {seed: counts_of(toy_pairs(seed, True), size) for seed in range(3)}
for sentence in ToyWorld(0).paragraph():
    print(" ".join(sentence))
print(f"{len(pairs[0])} pairs; "
      f"{(X[0] > 0).double().mean():.0%} of the counts are not 0")

# %% tags=["export"]
def fit_full_softmax(X, d, epochs=2000, lr=0.05, tol=1e-4, seed=0):
    """Skip-gram by full-batch Adam on the counts of pairs, (15.1.8).

    X (words, words) holds floating-point counts of centers (rows) and
    contexts (columns). Entries start as normal numbers of variance 1 / d.
    Stops when the norm of the gradient of the loss is below `tol`, or after
    `epochs` steps; with 0 it returns the start. Returns U and V (words, d),
    of the type and device of X, and the losses in nats per pair. Raises
    `ValueError` unless X is a square table with a positive sum.
    """
    square = X.ndim == 2 and len(X) == X.shape[-1]
    if not square or not X.is_floating_point() or not X.sum() > 0:
        raise ValueError(f"X of shape {tuple(X.shape)} and type {X.dtype} is "
                         "no square table of floating-point counts, not all "
                         "0.")
    generator = torch.Generator().manual_seed(seed)
    U, V = (torch.randn(len(X), d, generator=generator, dtype=X.dtype)
            .to(X.device) / d**0.5 for _ in "UV")
    X, losses = X / X.sum(), []
    optimizer = torch.optim.Adam((U, V), lr)
    for _ in range(epochs):
        log_p = F.log_softmax(V @ U.mT, dim=1)  # (words, words)
        R = X - X.sum(dim=1, keepdim=True) * log_p.exp()
        U.grad, V.grad = -R.mT @ V, -R @ U
        losses.append(-(X * log_p).sum().item())
        if torch.hypot(U.grad.norm(), V.grad.norm()) < tol:
            break
        optimizer.step()
    U.grad = V.grad = None
    return U, V, losses

# %%
def loss_and_norm(U, V, X):
    """Loss (15.1.8) and the norm of its gradient, by reverse mode."""
    U, V = U.clone().requires_grad_(), V.clone().requires_grad_()
    loss = -(X * F.log_softmax(V @ U.mT, dim=1)).sum() / X.sum()
    grads = torch.autograd.grad(loss, (U, V))
    return loss.item(), math.hypot(*(g.norm().item() for g in grads))


start = [fit_full_softmax(X[s], 8, epochs=0, seed=s) for s in range(3)]
trained = [fit_full_softmax(X[s], 8, seed=s) for s in range(3)]
control = [fit_full_softmax(shuffled[s], 8, seed=s) for s in range(3)]
U, V, losses = trained[0]
c, o = pairs[0].T
loss, norm = loss_and_norm(U, V, X[0])
print(f"{len(losses)} steps, loss {losses[0]:.2f} -> {loss:.3f}, "
      f"norm of the gradient {norm:.0e}")
assert abs(loss + skipgram_logprob(U, V, c, o).mean()) < 1e-9
assert loss == min(losses) and norm < 1e-4  # converged
for ours, table in zip(skipgram_grads(U, V, c, o), (U, V)):
    assert ours.norm() / len(c) < 1e-4  # the sum over pairs agrees
