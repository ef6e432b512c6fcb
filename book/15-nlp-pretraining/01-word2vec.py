# ---
# jupyter:
#   d2l:
#     data: [brown]
#     profiles:
#       gpu: {}
#       smoke:
#         num_paragraphs: 300
#         num_sentences: 3000
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
# **Cost**: about half a minute on a CPU, no use of a GPU; a download of 3 MB, once.

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
num_sentences = 60_000  # of the real text, at most; it has fewer
num_words = 600  # most frequent words of the real text

# %% [markdown]
# ## One-hot words
#
# A vocabulary $\mathcal V$ numbers the words, and a one-hot vector $\mathbf e_i\in\mathbb{R}^{|\mathcal V|}$ says nothing but the number $i$.
# Any two different words are then equally far apart.
# The *cosine similarity* of two vectors $\mathbf x,\mathbf y\ne\mathbf 0$ with equally many entries, the dot product divided by both norms ([Section 2.3](../02-preliminaries/03-linear-algebra.ipynb)),
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
# So *word2vec* (Mikolov et al., 2013a and 2013b) trains vectors to predict which words occur together, and labels come for free.
# Learning word vectors by prediction was not new: the neural language model of Bengio et al. (2003) is among the first.
# Word2vec drops that model's hidden layer, so a score is one dot product.
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
    steps = torch.arange(1, m + 1, device=tokens.device)  # (m,)
    near = places + torch.cat((-steps.flip(0), steps))  # (T, 2m)
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
# Every word $i$ has two vectors: $\mathbf v_i\in\mathbb{R}^d$ is used when it is the center, $\mathbf u_i\in\mathbb{R}^d$ when it is in the context.
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
    if c.shape != o.shape:
        raise ValueError(f"c has shape {tuple(c.shape)} and o "
                         f"{tuple(o.shape)}; give one context for each.")
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
# The first vector is that of the context word which was observed; the sum is the one that the model expected.
# For the context vectors,
#
# $$\frac{\partial\log P(w_o\mid w_c)}{\partial\mathbf u_j}=\bigl(\mathbf 1[j=o]-P(w_j\mid w_c)\bigr)\,\mathbf v_c, \tag{15.1.5}$$
#
# where $\mathbf 1[\cdot]$ is 1 for a true statement and 0 otherwise: uphill steps pull $\mathbf u_o$ towards $\mathbf v_c$ and push all others away from it, the more so the more probable the model held them.
# In the example, if $w_1$ was observed, (15.1.4) is $(0,1)-0.844\,(2,0)-0.114\,(0,1)-0.042\,(-1,1)=(-1.646,0.844)$.

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
context_vectors = torch.tensor([[1.5, -0.2], [-0.4, 1.15], [-1.2, -0.5],
                                [-0.2, -1.3]], dtype=f64)
center = torch.tensor([[0.7, 0.45]], dtype=f64)
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
axes[0].text(expected[0] + 0.08, expected[1] + 0.08, "expected")
axes[0].annotate("", context_vectors[1].tolist(), expected.tolist(),
                 arrowprops=arrow | {"color": "C1"})
axes[0].set_title("gradient of $\\mathbf{v}_c$: observed minus expected")
axes[1].annotate("", center[0].tolist(), (0, 0), arrowprops=arrow | {
    "color": "C3"})
axes[1].text(0.75, 0.5, "$\\mathbf{v}_c$", color="C3")
axes[1].set_title("gradients of the $\\mathbf{u}_j$: one pull, three pushes")
for ax in axes:
    ax.set(xlim=(-1.9, 2.1), ylim=(-1.7, 1.7), aspect="equal")
d2l.describe(axes, """Two panels with four context vectors from the origin.
    Left, an orange arrow goes from the expected vector, which is short and
    points to the right, to the observed vector u_o. Right, at the tip of u_o
    an orange arrow points in the direction of the center vector, and at the
    tips of the others blue arrows point the opposite way; the one at u_0,
    the most probable word, is the longest of these.""")

# %% [markdown]
# **Figure 15.1.2.** The gradient as pull and push, in two dimensions.
# Left: the gradient of $\mathbf v_c$ is the orange arrow, from the expected to the observed context vector.
# Right: the context vectors move parallel to $\mathbf v_c$, the observed one forwards, each other one backwards in proportion to its probability (drawn: 1.2 times the gradient).

# %% [markdown]
# Summed over all pairs with the same center, (15.1.4) vanishes where the average of the observed context vectors equals the expected one: there pull and push balance.
#
# ## CBOW
#
# The *continuous bag of words* model (CBOW) turns the arrow around: the $2m$ context words $\mathcal W_o=\{w_{o_1},\dots,w_{o_{2m}}\}$ together predict the center word.
# Their input vectors are averaged,
#
# $$\bar{\mathbf v}_o=\frac1{2m}\sum_{k=1}^{2m}\mathbf v_{o_k},\qquad P(w_c\mid\mathcal W_o)=\frac{\exp(\mathbf u_c^\top\bar{\mathbf v}_o)}{\sum_{i\in\mathcal V}\exp(\mathbf u_i^\top\bar{\mathbf v}_o)}, \tag{15.1.6}$$
#
# with $\mathbf v_i$ now the vector of a context word and $\mathbf u_i$ that of a center word, both in $\mathbb{R}^d$.
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
         (skipgram_logprob, U, V, context, c),
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
# İrsoy, Benton and Stratos (2021) report that the original program and Gensim get this gradient wrong in their versions with negative sampling (the C code averages on the way forward and does not divide on the way back); with the right one they found CBOW as good as skip-gram on their tests, and faster to train.
# So be careful with the common advice that skip-gram gives better vectors.
#
# ### The same loss as next-token prediction
#
# In layers of PyTorch, skip-gram is an `nn.Embedding` that looks up $\mathbf v_c$, an `nn.Linear` without bias whose weight is $\mathbf U$, and cross-entropy.
# CBOW replaces the look-up of one vector by the mean of several, an `nn.EmbeddingBag`.
# A language model ([Section 9.3](../09-recurrent-neural-networks/03-language-models.ipynb)) has the same last layer and the same loss.
# What differs is which word is predicted from which (a language model sees only what stands before), and the function that turns the input into a vector: the look-up of one word, a mean over a window, a recurrent state, or a Transformer that reads everything before the next token.

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
# The pair itself concerns only row $c$ of `V` and row $o$ of `U`; all other rows serve the normalization.
# [Section 15.2](02-approximate-training.ipynb) avoids it.
# For a small vocabulary we can afford it, and see the undisturbed optimum.
#
# ## A world of 39 words
#
# `ToyWorld` makes short sentences about scenes, from a noun, an adjective, a verb and a place, such as "the old owl rises near the river .".
# It never says which word is which.
# A window of five reaches over nearly the whole sentence, and pairs do not cross its end.
#
# Equal pairs have equal terms in the log-likelihood, so their counts are enough: let $x_{ij}$ be the number of pairs with center $i$ and context $j$, $x_i=\sum_jx_{ij}$, and $n=\sum_ix_i$.
# The loss per pair and its gradients are
#
# $$L=-\frac1n\sum_{i,j}x_{ij}\log P(w_j\mid w_i),\quad\frac{\partial L}{\partial\mathbf U}=-\mathbf R^\top\mathbf V,\quad\frac{\partial L}{\partial\mathbf V}=-\mathbf R\,\mathbf U,\quad R_{ij}=\frac{x_{ij}-x_iP(w_j\mid w_i)}n, \tag{15.1.8}$$
#
# with $\mathbf R\in\mathbb{R}^{|\mathcal V|\times|\mathcal V|}$, again observed minus expected.
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

# %% tags=["hide-input"]
for wrong in (X[0][:3], X[0].long(), torch.zeros(3, 3)):
    try:
        fit_full_softmax(wrong, 2)
    except ValueError as error:
        print("ValueError:", error)
    else:
        raise AssertionError("a wrong table was accepted")
first, again, other = (fit_full_softmax(X[0].float(), 64, epochs=0, seed=s)
                       for s in (5, 5, 6))
assert first[2] == [] and first[0].dtype == torch.float32
assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
for a, b in ((first[0], first[1]), (first[1], other[1])):
    assert not torch.equal(a, b) and abs(64 * a.var() - 1) < 0.1
before = X[0].clone()
assert len(fit_full_softmax(X[0], 2, epochs=3)[2]) == 3
assert torch.equal(X[0], before)  # the counts are as they were

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
assert abs(loss - losses[-1]) < 1e-9 and norm < 1.001e-4  # converged
assert abs(losses[0] - loss_and_norm(*start[0][:2], X[0])[0]) < 1e-9
assert U.grad is None and not U.requires_grad
for ours, table in zip(skipgram_grads(U, V, c, o), (U, V)):
    assert ours.norm() / len(c) < 1e-4  # the sum over pairs agrees

# %% tags=["hide-input"]
# C6 and the figures need words; content words belong to a category
label = torch.full((size,), -1)
for k, members in enumerate(ToyWorld.categories.values()):
    label[[index[word] for word in members]] = k
content = (label >= 0).nonzero().flatten()  # 30 of 39 words
label = label[content]


def principal(W):
    """The rows of W (n, d) along their two main directions, (n, 2)."""
    W = W - W.mean(dim=0)
    axes = torch.linalg.svd(W, full_matrices=False).Vh[:2]  # (2, d)
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return W @ (axes * largest.sign()).mT


fig, panels = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
for ax, tables, title in zip(panels, (start[0], trained[0]),
                             ("untrained", "trained")):
    points = principal(tables[1][content])
    for k, (name, mark) in enumerate(zip(ToyWorld.categories, "osD^")):
        ax.plot(*points[label == k].T, mark, ms=6, color=f"C{k}", label=name)
    for word in ("dog", "slow", "falls", "river"):
        place = points[(content == index[word]).nonzero().item()].tolist()
        ax.annotate(word, place, xytext=(8, 5), textcoords="offset points",
                    fontsize=9)
    ax.set(title=title, xlabel="first component")
panels[0].set_ylabel("second component")
panels[1].legend(fontsize=8)
d2l.describe(panels, """Two scatter plots of 30 words with four kinds of
    marks. Untrained, the kinds are mixed. Trained, nouns, adjectives, verbs
    and places form four separate groups.""")

# %% [markdown]
# **Figure 15.1.3.** Center vectors of the 30 content words, seed 0, along their two directions of largest variance ([Section 1.4](../01-introduction/04-unsupervised-self-supervised.ipynb)); nobody told the model the categories.

# %% [markdown]
# ### Is it the context?
#
# A picture of two out of eight dimensions proves little, and thirty points can group by accident.
# Let the gap be the mean cosine of two words of the same category minus that of two words of different categories.
# By itself a gap of 0.1 means nothing, so we compare it with the gaps that the same vectors have under 1000 random relabellings, and ask whether it exceeds their 99th percentile.
#
# Categories could also differ in something other than context; here they differ in frequency.
# The control is the same text with all its words shuffled: counts and sentence lengths remain, context is gone.

# %%
def gap(W, label):
    """Mean cosine within categories minus that between them.

    W (n, d) holds vectors, label (..., n) categories; the result is (...).
    """
    C = cosines(W)
    same = label[..., :, None] == label[..., None, :]  # (..., n, n)
    within = same & ~torch.eye(len(C), dtype=torch.bool)
    means = [(C * pairs).sum(dim=(-2, -1)) / pairs.sum(dim=(-2, -1))
             for pairs in (within, ~same)]
    return means[0] - means[1]


generator = torch.Generator().manual_seed(0)
relabelled = label[torch.rand(1000, 30, generator=generator).argsort(dim=1)]
runs = {"untrained": start, "shuffled text": control, "text": trained}
gaps, chance = {}, {}  # three seeds each
for name, fits in runs.items():
    for kind, side in (("v", 1), ("u", 0)):
        words = [tables[side][content] for tables in fits]
        gaps[name, kind] = torch.stack([gap(W, label) for W in words])
        chance[name, kind] = torch.stack([
            gap(W, relabelled).quantile(0.99) for W in words])

# %% tags=["hide-input"]
toy = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
assert gap(toy, torch.tensor([0, 0, 1, 1])) == 1
assert gap(toy, torch.tensor([[0, 1, 0, 1]])).item() == -0.5
fig, ax = plt.subplots(figsize=(6.4, 2.9))
for kind, offset, color in (("v", -0.18, "C0"), ("u", 0.18, "C1")):
    for x, name in enumerate(runs):
        at = x + offset + torch.tensor([-0.08, 0.0, 0.08])
        ax.plot(at, gaps[name, kind], "o", color=color,
                label=f"$\\mathbf{{{kind}}}$" if x == 0 else None)
        ax.bar(at.tolist(), chance[name, kind].tolist(), width=0.07,
               color="#bbbbbb",
               label="99 % of relabellings" if (x, kind) == (0, "v")
               else None)
ax.set_xticks(range(3), runs)
ax.set(ylabel="gap of the cosines")
ax.legend(loc="upper left")
d2l.describe(ax, """Gaps of three seeds. Untrained they lie within the grey
    bars of chance. On the shuffled text the gaps of v lie below zero and
    those of u slightly above the bars. On the text they are far above, about
    0.8 for v and more than 1 for u.""")

# %% [markdown]
# **Figure 15.1.4.** The gap between categories, three seeds; grey bars reach to the 99th percentile of random relabellings.

# %%
# check 15.1-C5: the gap after training, before it, and without context
for (name, kind), values in gaps.items():
    print(f"{name:13} {kind}:", *(
        f"{g:6.2f} (chance {p:.2f})"
        for g, p in zip(values, chance[name, kind])))
for s, (U, V, _) in enumerate(control):  # what is left without context
    said = U @ V.mean(dim=0)  # mean score of each context word
    log_count = shuffled[s].sum(dim=0).log()
    assert torch.corrcoef(torch.stack((said, log_count)))[0, 1] > 0.99
full_run = num_paragraphs >= 2000  # not smoke
for kind in "vu":
    assert (gaps["text", kind] > 3 * chance["text", kind]).all()
    assert (gaps["untrained", kind] < chance["untrained", kind]).all()
pooled = torch.stack([gap(U[content], relabelled) for U, _, _ in control])
pooled = pooled.mean(dim=0).quantile(0.99)  # the same for all three
print(f"u on shuffled text, mean of three: "
      f"{gaps['shuffled text', 'u'].mean():.2f} (chance {pooled:.2f})")
if full_run:
    assert (gaps["text", "v"] > 0.7).all()
    assert (gaps["shuffled text", "v"] < 0).all()
    assert gaps["shuffled text", "u"].mean() > 1.3 * pooled
    assert (gaps["shuffled text", "u"] < 0.2).all()

# %% [markdown]
# For the vectors $\mathbf v$ the case is clear: the gap is there with context and gone without.
# For $\mathbf u$ it is not quite: on the shuffled text a small gap is left, close to the bar in each run and clearly above chance only in the mean of the three.
# There the optimum gives every center nearly the same distribution, the frequencies, so the $\mathbf u_j$ still have to say how frequent word $j$ is, and words of a category are about equally frequent here.
# To see whether frequency is the cause, change nothing else: take counts $x_{ij}=f_if_j$, in which a center says nothing about its context, once with the frequencies $f_i$ of the text and once with those of the content words dealt out among them at random.

# %%
share = shuffled[0].sum(dim=1)
leftover = {"as in the text": [], "dealt out": []}  # gaps of u, ten starts
for s in range(10):
    order = torch.randperm(30, generator=torch.Generator().manual_seed(s))
    dealt = share.clone()
    dealt[content] = share[content[order]]
    for values, f in zip(leftover.values(), (share, dealt)):
        U, _, _ = fit_full_softmax(torch.outer(f, f), 8, seed=s)
        values.append(gap(U[content], label).item())
for name, values in leftover.items():
    print(f"frequencies {name:14}: gap of u {sum(values) / 10:5.2f} on "
          f"average ({min(values):.2f} to {max(values):.2f})")
assert min(leftover["as in the text"]) > 0
assert sum(leftover["as in the text"]) / 10 > 0.07
assert abs(sum(leftover["dealt out"]) / 10) < 0.03

# %% [markdown]
# With the frequencies dealt out the gap of $\mathbf u$ is gone, so what was left in it is frequency.
#
# By custom one keeps `V`, the vectors of what goes in: center vectors of skip-gram, context vectors of CBOW.
# That is no law: Press and Wolf (2017) found the output vectors of skip-gram only slightly worse on the usual tests, and [Section 15.4](04-word2vec-pretraining.ipynb) measures the sum of both.
#
# ## What the likelihood fixes
#
# ### Probabilities
#
# Which probabilities are best?
# For a fixed center $i$, minus $\sum_jx_{ij}\log q_j$ is smallest for $q_j=x_{ij}/x_i$, the observed shares ([Section 4.1](../04-linear-classification/01-softmax-regression.ipynb)).
# The loss can therefore never fall below
#
# $$H=-\frac1n\sum_{i,j}x_{ij}\log\frac{x_{ij}}{x_i}, \tag{15.1.9}$$
#
# with $0\log0=0$.
# A model with $d=|\mathcal V|$ can represent any table of positive probabilities: take $\mathbf V$ as the identity and $\mathbf u_j$ as the logarithms of column $j$.
# With fewer dimensions the table of scores has at most rank $d$.
# We measure the distance to the shares by the *total variation distance* $\frac12\sum_j|P(w_j\mid w_i)-x_{ij}/x_i|$, averaged over the words $i$, after fits whose gradient norm fell below $10^{-4}$.

# %%
def variation(U, V, X):
    """Mean total variation between the model and the shares of X."""
    shares = X / X.sum(dim=1, keepdim=True)
    P = torch.softmax(V @ U.mT, dim=1)
    return ((P - shares).abs().sum(dim=1) / 2).mean().item()


def floor(X):
    """The smallest loss per pair, (15.1.9)."""
    return -(torch.xlogy(X, X / X.sum(dim=1, keepdim=True))).sum() / X.sum()


dims = (1, 2, 4, 8, 16, size)
tv, excess, norms, grouped = torch.empty(4, len(dims), 3, dtype=f64)
for k, d in enumerate(dims):
    for s in range(3):
        U, V, losses = fit_full_softmax(X[s], d, seed=s)
        loss, norms[k, s] = loss_and_norm(U, V, X[s])
        tv[k, s], excess[k, s] = variation(U, V, X[s]), loss - floor(X[s])
        grouped[k, s] = gap(V[content], label)
    print(f"d = {d:2}: total variation {tv[k].min():.4f} to "
          f"{tv[k].max():.4f}, loss above its floor {excess[k].max():.5f}, "
          f"gap of v {grouped[k].min():.2f} to {grouped[k].max():.2f}")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.2, 2.9))
for s, mark in enumerate("osD"):
    ax.loglog(dims, tv[:, s], mark + "-", ms=5, lw=1, label=f"seed {s}")
ax.set_xticks(dims, [str(d) for d in dims])
ax.minorticks_off()
ax.set(xlabel="dimension $d$", ylabel="mean total variation")
ax.legend()
d2l.describe(ax, """Mean total variation over the dimension on logarithmic
    axes. It falls from 0.15 at dimension one to about 0.02 at dimension
    eight and below 0.001 at 39; three seeds lie close together.""")

# %% [markdown]
# **Figure 15.1.5.** How far the model's probabilities are from the observed shares: on this text eight dimensions for 39 words come within a few hundredths, and 39 within a thousandth.

# %%
# check 15.1-C6: unrestricted, the model predicts the shares; d = 2 cannot
assert (excess > 0).all() and (norms < 1.001e-4).all()  # converged
assert (tv[-1] < 0.02).all() and (tv[1] > 0.05).all()
few = [variation(*fit_full_softmax(X[0], 2, seed=s)[:2], X[0])
       for s in range(10, 16)]
print(f"d = 2, six more starts: {min(few):.3f} to {max(few):.3f}")
assert min(few) > 0.05
if full_run:
    assert (tv[-1] < 2e-3).all() and (tv[1] > 0.1).all() and min(few) > 0.08
    assert (0.015 < tv[3]).all() and (tv[3] < 0.03).all()
    assert (excess[-1] < 3e-4).all()
    assert (grouped[3:] > 0.7).all() and (grouped[:2] < 0.4).all()

# %% [markdown]
# So a skip-gram model that is large enough and trained for long enough predicts the table of observed shares, and a small one compresses it.
# It is tempting to say that words share directions only because there are too few to go round, but the last column speaks against it: with $d=|\mathcal V|$, where every word could have a direction of its own, the gap after this training is nearly what it is for $d=8$, and with one or two dimensions, where room is scarcest, it is smaller.
# Yet for $d=|\mathcal V|$ the likelihood does not ask for a gap: with the identity as $\mathbf V$ the model can come as near to the shares, and the gap is 0.
# [Section 15.5](05-glove.ipynb) starts from the table of counts.
#
# Strictly, with $d=|\mathcal V|$ there is no optimum where counts are 0: no finite score gives the probability 0, and the longer we train, the lower such $\log P(w_j\mid w_i)$ get on average.
# So compare probabilities, not scores.

# %%
unseen = X[0] == 0
before = 0.0
for tol in (1e-2, 1e-3, 1e-4):
    U, V, losses = fit_full_softmax(X[0], size, tol=tol)
    score = F.log_softmax(V @ U.mT, dim=1)[unseen].mean()
    print(f"norm below {tol:.0e}: {len(losses):3} steps, total variation "
          f"{variation(U, V, X[0]):.4f}, mean log P unseen {score:.1f}")
    assert score < before - 0.5
    before = score

# %% [markdown]
# ### Not the angles
#
# Training sees only the products $\mathbf u_j^\top\mathbf v_i$.
# We then compare $\mathbf v_i$ with $\mathbf v_k$ by their cosine, which no term of (15.1.3) mentions.
# For any invertible $\mathbf A\in\mathbb{R}^{d\times d}$, $\mathbf b\in\mathbb{R}^d$,
#
# $$\mathbf v_i\to\mathbf A\mathbf v_i,\qquad\mathbf u_j\to\mathbf A^{-\top}\mathbf u_j+\mathbf b \tag{15.1.10}$$
#
# leaves every probability as it is ($\mathbf b$ adds the same number to all scores of a center) and, unless $\mathbf A$ is a multiple of a rotation or reflection, can change the cosines of the $\mathbf v$; $\mathbf b$ changes those of the $\mathbf u$.

# %%
U, V, _ = trained[0]
stretch = torch.logspace(-1, 1, 8, dtype=f64)  # A is diagonal
shift = torch.full((8,), 5.0, dtype=f64)  # b
V_new, U_new = V * stretch, U / stretch + shift
same = (torch.softmax(V_new @ U_new.mT, dim=1)
        - torch.softmax(V @ U.mT, dim=1)).abs().max()
moved = (cosines(V_new) - cosines(V))[content][:, content].abs().max()
both = [gap(W[content], label).item() for W in (U, U_new)]
print(f"largest change: probabilities {same:.0e}, cosines of v {moved:.2f}")
print(f"gap of u: {both[0]:.2f}, shifted {both[1]:.2f}")
assert same < 1e-12 and moved > 0.5 and both[1] < 0.5 * both[0]

# %% [markdown]
# Where does the grouping come from, then?
# Two words to which the model gives the same distribution of contexts have $\mathbf U(\mathbf v_i-\mathbf v_k)=\text{const}\cdot\mathbf 1$, with $\mathbf 1$ the vector of ones in $\mathbb{R}^{|\mathcal V|}$; if $\mathbf U$ has rank $d$ and $\mathbf 1$ is not in the span of its columns, this forces $\mathbf v_i=\mathbf v_k$, and no $\mathbf A$ separates equal vectors.
# With $d=|\mathcal V|$ an invertible $\mathbf U$ has $\mathbf 1$ in its span, so nothing forces them to be equal, and how much the words group is left to the start and the steps.
# To see equal contexts draw vectors together with $d=8$, let a new word take over half of the pairs of `dog`.
# Then see how much the angles between different words depend on the start and on the learning rate, with the counts unchanged.

# %%
def halved(X, i):
    """Counts (n + 1, n + 1): a new last word has half the pairs of i."""
    rows = torch.cat((torch.arange(len(X)), torch.tensor([i])))
    weight = torch.ones(len(rows), dtype=X.dtype)
    weight[[i, -1]] = 0.5
    return X[rows][:, rows] * weight[:, None] * weight


dog = index["dog"]
for s in range(3):
    twin = halved(X[s], dog)
    assert abs(twin.sum() - X[s].sum()) < 1e-6
    before, after = (cosines(fit_full_softmax(
        twin, 8, epochs=epochs, seed=s)[1])[dog, -1] for epochs in (0, 2000))
    print(f"cosine of the two halves of dog: {before:5.2f} untrained, "
          f"{after:.4f} trained")
    assert before < 0.9 and after > 0.999

# %%
U, V, losses = trained[0]
for options in ({"seed": 1}, {"seed": 2}, {"seed": 3}, {"lr": 0.2}):
    _, V_new, new_losses = fit_full_softmax(X[0], 8, **options)
    moved = (cosines(V_new) - cosines(V))[content][:, content].abs().max()
    print(f"{options}: loss {new_losses[-1] - losses[-1]:+.5f}, a cosine "
          f"moved by {moved:.2f}, gap {gap(V_new[content], label):.2f}")
    assert moved > 0.02
    if full_run:
        assert abs(new_losses[-1] - losses[-1]) < 3e-4 and moved > 0.09
        assert gap(V_new[content], label) > 0.7

# %% [markdown]
# The two halves start at different angles and end up together.
# Different words stay grouped, but their cosines are not settled: runs whose losses differ by less than $3\cdot10^{-4}$ disagree on some cosine by about 0.1 or more.
# Steck, Ekanadham and Kallus (2024) derive for linear models that the cosines of learned vectors can be arbitrary, and warn against trusting them blindly.
#
# ## Real words
#
# The same function takes the most frequent words, 600 unless a profile says otherwise, of the Brown corpus, a million words of American English of 1961.
# Only pairs of these words are counted, within sentences and up to five places apart.

# %%
def window_counts(ids, owner, m, size):
    """Counts (size, size) of pairs at most m apart in the same sentence.

    ids (T,) holds the words of all sentences, with `size` for one that is
    not counted, and owner (T,) the number of the sentence.
    """
    X = torch.zeros(size, size, dtype=f64)
    for k in range(1, m + 1):  # words k places apart
        near = torch.stack((ids[:-k], ids[k:]), dim=1)  # (T - k, 2)
        inside = (owner[:-k] == owner[k:]) & (near < size).all(dim=1)
        X += counts_of(near[inside], size)
    return X + X.mT  # and the other way round


found = d2l.fetch("brown")
sentences = word_sentences(found)[:num_sentences]
frequency = Counter(word for sentence in sentences for word in sentence)
kept = sorted(frequency, key=lambda w: (-frequency[w], w))[:num_words]
number = {word: i for i, word in enumerate(kept)}
flat = torch.tensor([number.get(word, len(kept))
                     for sentence in sentences for word in sentence])
lengths = torch.tensor([len(sentence) for sentence in sentences])
owner = torch.repeat_interleave(lengths)
X_real = window_counts(flat, owner, 5, len(kept))

# %%
some = owner < 200  # the same by pairs, for the first 200 sentences
slow = torch.cat([skipgram_pairs(sentence, 5) for sentence in
                  flat[some].split(lengths[:200].tolist())])
slow = slow[(slow < len(kept)).all(dim=1)]
assert torch.equal(window_counts(flat[some], owner[some], 5, len(kept)),
                   counts_of(slow, len(kept)))
real_fits = [fit_full_softmax(X_real.float(), 32, seed=s) for s in range(3)]
print(f"{len(flat)} words, {X_real.sum():.0f} pairs; loss "
      f"{real_fits[0][2][-1]:.3f}, floor {floor(X_real):.3f}")

# %%
def neighbors(W, word, k=4):
    """The k words whose rows of W have the largest dot products."""
    scores = W @ W[number[word]]
    scores[number[word]] = -torch.inf  # not the word itself
    return [kept[i] for i in scores.topk(k).indices]


V = real_fits[0][1]
for word in ("man", "he", "two", "day", "school", "was"):
    if word in number:
        print(f"{word:7} cosine:", *neighbors(F.normalize(V, dim=1), word),
              "| dot product:", *neighbors(V, word))
real = found.is_real and num_words == 600  # not smoke
for _, V, _ in real_fits if real else ():
    for word, expected in (("man", "woman"), ("two", "three")):
        near = neighbors(F.normalize(V, dim=1), word)
        assert expected in near and word not in near

# %% [markdown]
# Nothing but co-occurrence was given, and `man` finds `woman`, `two` finds `three`.
# Note what most neighbours by cosine have in common: they can stand in the same place of a sentence (`high`, beside `school`, cannot).
# Opposites can, too.
#
# Dot products give other lists: they favour long vectors, and how long a vector is has to do with how frequent its word is.

# %%
counts = torch.tensor([float(frequency[word]) for word in kept])
correlation, from_longest = [], {"cosine": [], "dot product": []}
for _, V, _ in real_fits:
    length = V.norm(dim=1)
    correlation.append(torch.corrcoef(
        torch.stack((counts.log(), length)))[0, 1].item())
    longest = length >= length.quantile(0.9)  # a tenth of the words
    for name, W in (("cosine", F.normalize(V, dim=1)), ("dot product", V)):
        nearest = (W @ W.mT).fill_diagonal_(-torch.inf).topk(5).indices
        from_longest[name].append(longest[nearest].double().mean().item())
print("correlation of length and log count:",
      *(f"{r:.2f}" for r in correlation))
for name, shares in from_longest.items():
    print(f"five nearest by {name}: from the longest tenth",
          *(f"{s:.0%}" for s in shares))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained",
                         sharex=True)
for ax, W, kind in zip(axes, real_fits[0][1::-1], "vu"):
    ax.semilogx(counts, W.norm(dim=1), "o", ms=2.5, alpha=0.5)
    ax.set(xlabel="count in the corpus",
           ylabel=f"length of $\\mathbf{{{kind}}}$", ylim=(0, None))
d2l.describe(axes, """Two scatter plots of vector length over the count on a
    logarithmic axis. Center vectors v are shorter for more frequent words,
    with a wide spread. Context vectors u are shortest for words in the
    middle and longer again for the most frequent.""")

# %% [markdown]
# **Figure 15.1.6.** Length of the trained vectors against the count of the word, seed 0.

# %%
if real:
    assert all(-0.6 < r < -0.35 for r in correlation)
    assert min(from_longest["dot product"]) > 0.35
    assert max(from_longest["cosine"]) < 0.1

# %% [markdown]
# In all three runs, which differ in their start only, rarer words have longer center vectors on average, and more than 35 % of the nearest words by dot product come from the longest tenth, where chance would give 10 % and the cosine gives less.
# So we train with dot products and compare with cosines, which ignore length.
# As scores, cosines would not do without a factor in front: they lie in $[-1,1]$, so no context word could be more than $e^2\approx7.4$ times as probable as another.
# Do not read the sign as a law: the right panel of Figure 15.1.6 turns upwards again, and Wilson and Schakel (2015), who changed the frequency of single words and mixed noise into their contexts, found the length of CBOW vectors to depend on both.
#
# ## Where this stands
#
# A vector per word is what static embeddings can give: `bank` has one, whatever the sentence.
# Where the sentence matters, one uses models that compute a vector for each occurrence ([Section 15.8](08-bert.ipynb)); the first layer of most of them is still a table like `V`, of pieces of words.
# Static vectors remain where speed counts, and today they may be distilled from such a model (Model2Vec, 2024) rather than trained on windows.
#
# ## Summary
#
# - Skip-gram predicts each context word from the center word, CBOW the center word from the mean of its context; both are a softmax over dot products of two tables, trained by cross-entropy as language models are.
# - The gradient is observed minus expected: a pull towards the observed word, pushes away from all others. CBOW's carries a factor $\frac1{2m}$ that has been forgotten in practice.
# - On the toy world the center vectors group by category with context and not without; context vectors also carry frequency, which a shuffled text reveals.
# - With $d=|\mathcal V|$ the model approaches the table of observed shares; fewer dimensions compress it. The grouping does not need the compression: from our random starts it appears with $d=|\mathcal V|$ too, where the likelihood does not ask for it.
# - The likelihood fixes probabilities, not cosines among the $\mathbf v$. With few dimensions, words to which the model gives the same contexts get the same vector; the angles between others depend on the start and on the learning rate, too.
# - Each pair costs about $6|\mathcal V|d$ operations, which is the subject of the next section.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.1-1
#
# How many floating-point operations does $\log P(w_o\mid w_c)$ take for $|\mathcal V|=10^5$ and $d=300$?
# How long would one pass over a corpus of $10^9$ words with $m=5$ take at $10^{12}$ operations per second, gradients included?

# %% [markdown]
# #### Solution 15.1-1

# %% [markdown]
# The product of the table and $\mathbf v_c$ takes $|\mathcal V|d$ multiplications and as many additions, $6\cdot10^7$.
# The softmax adds a few operations per word, beside the 600 of its dot product.
# With gradients it is three times as much.
# The corpus gives $10^{10}$ pairs, so the pass takes $1.8\cdot10^{18}$ operations, three weeks.

# %%
table = torch.empty(100_000, 300, device="meta")
one = torch.zeros(1, dtype=int, device="meta")
forward = flops(lambda: skipgram_logprob(table, table, one, one))
with_grads = flops(lambda: skipgram_grads(table, table, one, one))
days = with_grads * 10**9 * 2 * 5 / 10**12 / 86_400
print(f"{forward:.1e} forward, {with_grads:.1e} with gradients, "
      f"{days:.0f} days")
assert forward == 6 * 10**7 and with_grads == 3 * forward and 20 < days < 22

# %% [markdown]
# ### Exercise 15.1-2
#
# `los angeles` is one thing in two words.
# Mikolov et al. (2013b) join two neighbouring words into a phrase if
#
# $$\operatorname{score}(w_i,w_j)=\frac{c(w_iw_j)-\delta}{c(w_i)\,c(w_j)} \tag{15.1.11}$$
#
# is large, where $c$ counts words and neighbours in the corpus and $\delta\ge0$ is a discount.
# Write it, check it against a loop, and find the best phrases of the Brown corpus for $\delta=0$ and $\delta=10$.
# What is the discount for?

# %% [markdown]
# #### Solution 15.1-2

# %%
def adjacent_counts(sentences):
    """How often words (a, b) stand next to each other in a sentence."""
    return Counter(p for sentence in sentences for p in pairwise(sentence))


def phrase_scores(words, joint, delta):
    """Scores (15.1.11) from counts of words and of neighbours."""
    return {(a, b): (n - delta) / (words[a] * words[b])
            for (a, b), n in joint.items()}


small = sentences[:300]
scores = phrase_scores(Counter(w for s in small for w in s),
                       adjacent_counts(small), 2)
tokens = [w for s in small for w in s]
for a, b in sorted(scores)[:50]:  # by a loop over all places
    n = sum((s[t], s[t + 1]) == (a, b) for s in small
            for t in range(len(s) - 1))
    assert scores[a, b] == (n - 2) / (tokens.count(a) * tokens.count(b))

# %%
joint = adjacent_counts(sentences)
for delta in (0, 10):
    scores = phrase_scores(frequency, joint, delta)
    best = sorted(scores, key=lambda p: (-scores[p], p))[:8]
    print(f"delta = {delta}: " + ", ".join(" ".join(p) for p in best))
    rare = [joint[p] for p in best]
    assert not real or (set(rare) == {1} if delta == 0
                        else min(rare) > delta)
if real:
    assert ("los", "angeles") in best
    highest = sum(n == frequency[a] == frequency[b] == 1
                  for (a, b), n in joint.items())
    print(f"{highest} pairs of words that occur once reach the highest "
          "score, 1")
    assert highest > 500

# %% [markdown]
# Without the discount the score is $\frac{c(w_iw_j)}{c(w_i)}\cdot\frac1{c(w_j)}$, at most 1, and every pair of words that both occur once and next to each other reaches 1.
# One meeting is weak evidence.
# The discount takes all pairs with at most $\delta$ meetings out of the contest, since their score is not positive, and takes from the others the share $\delta/c(w_iw_j)$ of their score, the smaller, the more often the pair was seen.

# %% [markdown]
# ### Exercise 15.1-3
#
# Why two vectors per word?
# Tie the tables, $\mathbf u_i=\mathbf v_i$, and show that the word with the longest vector then predicts itself before all others.
# On the toy world, where no content word ever occurs twice in a sentence, count the words that predict themselves first, before and after training, and compare the probability $P(w_i\mid w_i)$ of the content words after training with that of two tables.

# %% [markdown]
# #### Solution 15.1-3

# %% [markdown]
# With one table the score of a word for itself is $\|\mathbf v_i\|^2$, and that of another word $\mathbf v_j^\top\mathbf v_i\le\|\mathbf v_j\|\,\|\mathbf v_i\|$.
# If $\mathbf v_i$ is the longest, the latter is at most $\|\mathbf v_i\|^2$.
# For the others it can be otherwise, but a score $\|\mathbf v_i\|^2$ is never negative, although a word hardly ever stands in its own context; Goldberg and Levy (2014) give this as a reason for two vectors.

# %%
def fit_tied(X, d, steps, seed, lr=0.01):
    """One table (words, d) for both sides, by Adam; the table, the loss."""
    W = torch.randn(len(X), d, dtype=f64,
                    generator=torch.Generator().manual_seed(seed)) / d**0.5
    optimizer = torch.optim.Adam([W.requires_grad_()], lr)
    for step in range(steps + 1):
        loss = -(X * F.log_softmax(W @ W.mT, dim=1)).sum() / X.sum()
        optimizer.zero_grad()
        loss.backward()
        if step < steps:
            optimizer.step()
    return W.detach(), loss.item()


def self_probability(U, V):
    """P(i | i) of all words (words,), and how many predict themselves."""
    P = torch.softmax(V @ U.mT, dim=1)
    return P.diag(), (P.argmax(dim=1) == torch.arange(len(P))).sum().item()

# %%
alike = label[:, None] == label  # also a word and itself
for s in range(3):
    among = X[s][content][:, content]
    assert among[alike].sum() == 0  # never in one sentence
    share = X[s].sum(dim=1) / X[s].sum()
    context_free = -(share * share.log()).sum().item()
    fresh, tied = fit_tied(X[s], 8, 0, s)[0], fit_tied(X[s], 8, 1200, s)
    own, first = zip(*(self_probability(*tables) for tables in (
        (fresh, fresh), (tied[0], tied[0]), trained[s][:2])))
    print(f"P of itself: tied {own[1][content].mean():.3f}, two tables "
          f"{own[2][content].mean():.0e}, frequency "
          f"{share[content].mean():.3f}; itself first: {first[0]} words "
          f"untrained, {first[1]} trained")
    longest = tied[0].norm(dim=1).argmax()
    assert ((tied[0] @ tied[0].mT).argmax(dim=1) == longest).all()
    W = fresh.norm(dim=1).argmax()
    assert (fresh @ fresh[W]).argmax() == W
    assert first[0] > 20 and first[1] == 1
    assert own[1][content].mean() > 200 * own[2][content].mean()
    if full_run:
        assert (own[1][content] > share[content]).all()
        assert own[1][content].mean() < 2 * share[content].mean()
        assert tied[1] > context_free > trained[s][2][-1] + 0.1

# %%
for steps in (0, 300, 1200, 4800):
    W, loss = fit_tied(X[0], 8, steps, 0)
    lengths, C = W.norm(dim=1), cosines(W)
    print(f"{steps:4} steps: lengths {lengths.min():.2f} to "
          f"{lengths.max():.2f}, smallest cosine {C.min():5.2f}, loss "
          f"{loss:.4f}")
share = X[0].sum(dim=1) / X[0].sum()
print(f"loss of the frequencies {-(share * share.log()).sum():.4f}, of two "
      f"tables {trained[0][2][-1]:.4f}")
assert C.min() > 0.9 and lengths.min() > 3
assert not full_run or 0 < loss + (share * share.log()).sum() < 0.01

# %% [markdown]
# Untrained, most words predict themselves first.
# After 1200 steps only the word with the longest vector still does, but then every other word predicts that one first, too.
# Training has not shortened the vectors: it has made them long and almost parallel, $\mathbf v_i=\mathbf a+\mathbf d_i$ with a long $\mathbf a$.
# The part $\mathbf a^\top\mathbf d_j$ of the score is then the same for all centers and can hold the frequency of word $j$, and so far the loss shows nothing beyond it: it is a little above that of the plain frequencies, which ignore the center.
# Four times as many steps bring it closer to them, still not below; that is not the end of it, only of this run.
# What never happens keeps a probability above the plain frequency of the word, on average less than twice as high, but hundreds of times as high as with two tables.
#
# This text asks for the opposite of what one table expresses easily: words of a category never share a sentence, yet similar vectors have large products.
#
# Many language models do tie their two tables; Press and Wolf (2017) found that it lowers the perplexity of theirs.
# Others keep two.
# There the hidden vector is not a row of the table, but what many layers make of the context.

# %% [markdown]
# ### Exercise 15.1-4
#
# In "the man and the dog", the window of two around "and" holds "the" twice.
# What is the gradient of $\log P(w_c\mid\mathcal W_o)$ with respect to the vector of "the"?
# Check against automatic differentiation, and show what an assignment `grad_V[context] = share` does wrong.

# %% [markdown]
# #### Solution 15.1-4

# %% [markdown]
# The vector enters the mean twice, with the weight $\frac1{2m}=\frac14$ each, so the gradient is $\frac24$ of observed minus expected.
# An assignment writes the same row twice and keeps one of the two: half of the right gradient.
# `index_add` adds.

# %%
U5, V5 = torch.randn(2, 4, 3, dtype=f64,
                     generator=torch.Generator().manual_seed(4))
the, man, conj, dog = range(4)
window, middle = torch.tensor([[the, man, the, dog]]), torch.tensor([conj])
grad = cbow_grads(U5, V5, window, middle)[1]
exact = autograd(cbow_logprob, U5, V5, window, middle)[1]
torch.testing.assert_close(grad, exact, rtol=0, atol=1e-12)
H = V5[window].mean(dim=1)
shared = (residuals(U5, H, middle) @ U5)[0]  # observed minus expected
torch.testing.assert_close(exact[the], 2 / 4 * shared)
torch.testing.assert_close(exact[dog], 1 / 4 * shared)
assigned = torch.zeros_like(V5)
assigned[window[0]] = shared / 4
torch.testing.assert_close(assigned[the], exact[the] / 2)
assert (exact[conj] == 0).all()

# %% [markdown]
# ## Sources
#
# - T. Mikolov, K. Chen, G. Corrado, J. Dean (2013a). Efficient estimation of word representations in vector space. [arXiv:1301.3781](https://arxiv.org/abs/1301.3781): skip-gram and CBOW.
# - T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean (2013b). Distributed representations of words and phrases and their compositionality. [arXiv:1310.4546](https://arxiv.org/abs/1310.4546): the softmax (15.1.2) and the score of phrases.
# - X. Rong (2014). word2vec parameter learning explained. [arXiv:1411.2738](https://arxiv.org/abs/1411.2738): the gradients.
# - Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin (2003). A neural probabilistic language model. [Journal of Machine Learning Research 3, 1137-1155](https://www.jmlr.org/papers/v3/bengio03a.html).
# - Z. S. Harris (1954). Distributional structure. Word 10(2-3), 146-162. [doi:10.1080/00437956.1954.11659520](https://doi.org/10.1080/00437956.1954.11659520).
# - J. R. Firth (1957). A synopsis of linguistic theory 1930-1955. In Studies in Linguistic Analysis, 1-32. Philological Society, Oxford.
# - O. İrsoy, A. Benton, K. Stratos (2021). Corrected CBOW performs as well as skip-gram. [arXiv:2012.15332](https://arxiv.org/abs/2012.15332).
# - O. Press, L. Wolf (2017). Using the output embedding to improve language models. [arXiv:1608.05859](https://arxiv.org/abs/1608.05859).
# - Y. Goldberg, O. Levy (2014). word2vec explained: deriving Mikolov et al.'s negative-sampling word-embedding method. [arXiv:1402.3722](https://arxiv.org/abs/1402.3722).
# - H. Steck, C. Ekanadham, N. Kallus (2024). Is cosine-similarity of embeddings really about similarity? [arXiv:2403.05440](https://arxiv.org/abs/2403.05440).
# - B. J. Wilson, A. M. J. Schakel (2015). Controlled experiments for word embeddings. [arXiv:1510.02675](https://arxiv.org/abs/1510.02675): length, frequency and noise.
# - W. N. Francis, H. Kučera (1964). A standard corpus of present-day edited American English. Brown University. [NLTK data](https://www.nltk.org/nltk_data/): the Brown corpus.
# - Minish Lab (2024). Model2Vec. [github.com/MinishLab/model2vec](https://github.com/MinishLab/model2vec): static vectors distilled from sentence encoders.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the plan of the section, and the sentence of Figure 15.1.1.
