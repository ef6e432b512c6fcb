# ---
# jupyter:
#   d2l:
#     data: [minilm, bert-vocab, brown, masc-tagged, wikitext-2, word-similarity, word-analogies]
#     profiles:
#       gpu:
#         num_queries: 2000
#         num_vectors: 200000
#       smoke:
#         step: 20
#         d: 16
#         num_queries: 60
#         num_vectors: 2000
#     rehearsal: {num_vectors: 0.05, num_queries: 0.2}
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
# # 15.7 Word similarity and analogy
#
# King minus man plus woman is queen: this is what many people know of word vectors.
# We put twelve thousand such questions to a pretrained table, and half as many to our own vectors, and then ask what a right answer shows.
# Most of the score will turn out to rest on a rule of the search that is easy to overlook.
#
# **You will**
#
# - load word vectors, find nearest neighbors by cosine, and answer analogies with 3CosAdd and 3CosMul;
# - measure how much of an analogy score comes from the rule that input words may not answer, and how much comes from plain neighborhood;
# - compare tables of vectors with human judgments on the same pairs of words, beside a control;
# - search a table without reading all of it, and measure what that loses.
#
# **Cost**: about half a minute on a CPU, no use of a GPU; downloads of about 100 MB, most of it for the pretrained table.

# %%
import math
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.nlp_pretraining import (
    WORD_CORPORA, cooccurrence, judged_pairs, ppmi, read_corpus,
    similarity_score, svd_vectors)
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.pretrained import minilm

d2l.use_style()

# %% tags=["parameters"]
step = 1  # 20: every twentieth sentence of the corpus only
d = 64  # of our own vectors
num_queries = 500  # of the fast searches
num_vectors = 100_000  # of the search in Exercise 15.7-3

# %% [markdown]
# ## A table of vectors
#
# Our table is the input layer of a small sentence encoder, paraphrase-MiniLM-L3-v2: one vector of 384 numbers for each of BERT's pieces ([Section 15.6](06-subwords.ipynb)).
# We keep the pieces that are whole words of the letters a to z.
#
# These vectors are no neutral witness.
# They belong to a network whose model card lists SNLI and MultiNLI, Quora duplicates, MS MARCO, and captions of Flickr30k and COCO among its training data: texts in pairs, of like meaning or a question with a passage that answers it.
# The input vectors are part of that network, so this table has been told what people find similar; vectors that come from context alone, such as our own below, have not.

# %%
net = minilm()
(path,) = d2l.fetch("bert-vocab").files.values()
pieces = path.read_text(encoding="utf-8").splitlines()
whole = [i for i, piece in enumerate(pieces)
         if piece.isascii() and piece.isalpha() and piece.islower()]
words = [pieces[i] for i in whole]
vectors = net.words.weight.detach()[whole]  # (21745, 384)
del net
real = all(d2l.fetch(name).is_real for name in (
    "minilm", "bert-vocab", *WORD_CORPORA, "word-similarity",
    "word-analogies"))
full_run = real and step == 1 and d == 64
print(f"{len(pieces)} pieces, {len(words)} words, {vectors.shape[1]} numbers")
if real:
    assert (len(pieces), vectors.shape) == (30522, (21745, 384))

# %% tags=["hide-input"]
pictured = [["paris", "france", "rome", "italy", "berlin", "germany",
             "tokyo", "japan", "cairo", "egypt"],
            ["big", "bigger", "fast", "faster", "strong", "stronger", "old",
             "older", "cold", "colder"]]
if not real:
    pictured = [words[:10], words[10:20]]
_, axes = plt.subplots(1, 2, figsize=(7, 3))
for ax, chosen in zip(axes, pictured):
    V = F.normalize(vectors[[words.index(w) for w in chosen]], dim=1)
    V = V - V.mean(dim=0)
    points = V @ torch.linalg.svd(V, full_matrices=False).Vh[:2].mT  # (10, 2)
    for i in range(0, 10, 2):
        ax.annotate("", points[i + 1], points[i], arrowprops={
            "arrowstyle": "->", "color": "#0072B2"})
    ax.plot(*points.mT, ".", color="#E69F00")
    for i, word in enumerate(chosen):  # a label behind its end of the arrow
        away = points[i] - points[i ^ 1]
        ax.annotate(word, points[i], 6 * away / away.norm(), fontsize=8,
                    textcoords="offset points", va="center",
                    ha="left" if away[0] > 0 else "right")
    ax.margins(0.22)
    ax.set(xlabel="first component", ylabel="second component")
d2l.describe(axes, """Two planes with ten words each, joined in pairs by
    arrows: left from capital to country, right from an adjective to its
    comparative. In each plane the arrows point about the same way.""")

# %% [markdown]
# **Figure 15.7.1.** Vectors of length 1 on their first two principal components. An arrow joins the words of a pair.
#
# Each plane was fitted to the ten words that it shows, and we chose the pairs (those of men and women made a poor picture).
# It tells what a relation would look like; whether the table is full of them takes a count.
#
# Published tables are text files with a word and its numbers in each line.
# GloVe (Pennington and others, 2014; new tables by Carlson and others, 2025) has nothing else in the file, fastText puts a line with the two sizes first.

# %%
# %% tags=["export"]
def read_vectors(path):
    """Words and vectors of a text file: a list (n,) and a tensor (n, d).

    A line holds a word and d numbers between single blanks, and may end
    with more. A first line of two whole numbers, how many words and d, is
    left out. Raises ValueError for a line of another form.
    """
    tokens, rows, d = [], [], None
    with open(path, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1 and (
                    word + values[0]).isdecimal():
                continue
            d = d or len(values)
            try:
                rows.append(np.array(values, dtype=np.float32))
            except ValueError:
                rows.append(None)
            if rows[-1] is None or not word or len(values) != d or d < 1:
                raise ValueError(f"line {number} of {path} is not a word and "
                                 f"{d} numbers between blanks: {line[:40]!r}")
            tokens.append(word)
    if not rows:
        raise ValueError(f"{path} holds no vectors.")
    return tokens, torch.from_numpy(np.stack(rows))

# %% tags=["export"]
class TokenEmbedding:
    """Word vectors by name; a word that is not there has the vector 0.

    `source` is the path of a file that `read_vectors` reads, or a pair of a
    list of n words and a tensor (n, d). `idx_to_token`, `token_to_idx` and
    `idx_to_vec` (1 + n, d) begin with "<unk>", whose vector is 0 whatever
    the source says. Raises ValueError if words and rows do not match, or if
    a word comes twice.
    """

    def __init__(self, source):
        tokens, vectors = source if isinstance(source, tuple) else (
            read_vectors(source))
        if vectors.ndim != 2 or len(vectors) != len(tokens):
            raise ValueError(f"{len(tokens)} words need a tensor of as many "
                             f"rows, (n, d); got {tuple(vectors.shape)}.")
        kept = [i for i, token in enumerate(tokens) if token != "<unk>"]
        self.idx_to_token = ["<unk>", *(tokens[i] for i in kept)]
        self.token_to_idx = {t: i for i, t in enumerate(self.idx_to_token)}
        if len(self.token_to_idx) < len(self.idx_to_token):
            twice = Counter(self.idx_to_token).most_common(1)[0][0]
            raise ValueError(f"{twice!r} comes twice; keep one of its rows.")
        rows = torch.tensor(kept, dtype=torch.int64, device=vectors.device)
        self.idx_to_vec = torch.cat((
            vectors.new_zeros(1, vectors.shape[1]), vectors[rows])).detach()

# %% tags=["export"]
@add_to_class(TokenEmbedding)
def __len__(self):
    """How many words there are, with "<unk>"."""
    return len(self.idx_to_token)


@add_to_class(TokenEmbedding)
def indices(self, tokens, strict=False):
    """Indices (n,) of a list of words; 0 for a word that is not there.

    If `strict`, a ValueError names such words instead.
    """
    unknown = [t for t in tokens if t not in self.token_to_idx]
    if strict and unknown:
        raise ValueError(f"no vector for {', '.join(unknown[:5])}; leave "
                         "out what is not in token_to_idx.")
    return torch.tensor([self.token_to_idx.get(t, 0) for t in tokens],
                        dtype=torch.int64, device=self.idx_to_vec.device)


@add_to_class(TokenEmbedding)
def __getitem__(self, tokens):
    """Vectors (n, d) of a list of words, or (d,) of one word."""
    if isinstance(tokens, str):
        return self[[tokens]][0]
    return self.idx_to_vec[self.indices(tokens)]

# %%
emb = TokenEmbedding((words, vectors))
vectors = emb.idx_to_vec[1:]  # the same, kept once
with tempfile.TemporaryDirectory() as folder:
    lines = [f"{word} {' '.join(map(str, emb[word].tolist()))}"
             for word in words[:20]]
    for head, end in ([], ""), (["20 384"], " "):
        file = Path(folder, "vectors.txt")
        file.write_text(f"{end}\n".join([*head, *lines, ""]), encoding="utf-8")
        read = TokenEmbedding(file)
        assert read.idx_to_token == ["<unk>", *words[:20]]
        torch.testing.assert_close(read[words[:20]], emb[words[:20]])
    file.write_text("1999 0.5\n2000 1\n", encoding="utf-8")  # no sizes
    assert TokenEmbedding(file)[["1999", "2000"]].tolist() == [[0.5], [1]]
    zero = TokenEmbedding((["a", "<unk>", "b"], torch.ones(3, 2)))
    assert zero[["<unk>", "b"]].tolist() == [[0, 0], [1, 1]]
    file.write_text("a 1 2\nb 1 x\n", encoding="utf-8")
    for wrong, reason in ((file, "line 2"), ((["a", "a"], torch.eye(2)),
                          "'a' comes twice"), ((["a"], torch.eye(2)),
                                               "1 words")):
        try:
            TokenEmbedding(wrong)
            raise AssertionError(f"{wrong} was accepted")
        except ValueError as error:
            assert reason in str(error), error

# %% [markdown]
# ## Nearest neighbors
#
# The *cosine similarity* of $\mathbf{x}$ and $\mathbf{v}$ is $\mathbf{x}^\top\mathbf{v}/(\|\mathbf{x}\|\,\|\mathbf{v}\|)$.
# With all rows at length 1, it is one matrix product for all words and as many queries as fit into memory.
# A word that the table lacks has the vector 0, and 0 has no direction.
# A search has to say what happens then: here such a row loses against every other.

# %% tags=["export"]
def cosines(W, x):
    """Cosines (..., V) of queries x (..., d) with the rows of W (V, d).

    A row of zeros has no direction and gets -inf, so it wins no search; a
    query of zeros gets 0. Raises ValueError if the shapes do not fit.
    """
    if W.ndim != 2 or x.ndim < 1 or x.shape[-1] != W.shape[1]:
        raise ValueError(f"vectors {tuple(W.shape)} and queries "
                         f"{tuple(x.shape)} do not fit; (V, d) and (..., d) "
                         "are needed.")
    result = F.normalize(x, dim=-1) @ F.normalize(W, dim=1).mT
    return result.masked_fill_((W == 0).all(dim=1), -math.inf)

# %% tags=["export"]
def knn(W, x, k, exclude=None):
    """The k rows of W (V, d) with the largest cosines to each query.

    x (d,) or (n, d) are queries; `exclude` holds indices of rows that may
    not win: (m,) for all queries, or (n, m). Returns cosines and indices,
    (k,) or (n, k), best first. Raises ValueError if k rows are not left, or
    if shapes do not fit.
    """
    near = cosines(W, x)  # (..., V)
    barred = 0 if exclude is None else exclude.shape[-1]
    if not 1 <= k <= len(W) - barred:
        raise ValueError(f"k is {k}; of {len(W)} rows {barred} are excluded, "
                         "choose 1 <= k <= the rest.")
    if exclude is not None:
        if exclude.ndim > 1 and exclude.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"exclude is {tuple(exclude.shape)} and the "
                             f"queries {tuple(x.shape)}; give (m,) or (n, m).")
        near.scatter_(-1, exclude.expand(*x.shape[:-1], barred), -math.inf)
    return near.topk(k, dim=-1)

# %%
# check 15.7-C3: as sorting all cosines; each word is nearest to itself
picked = torch.randperm(len(emb) - 1, generator=torch.Generator()
                        .manual_seed(0))[:100] + 1
near, found = knn(emb.idx_to_vec, emb.idx_to_vec[picked], 11)
every = emb.idx_to_vec[1:].double()
every /= every.norm(dim=1, keepdim=True)
every = every[picked - 1] @ every.mT  # (100, V - 1)
torch.testing.assert_close(near.double(), every.sort(
    descending=True).values[:, :11], atol=1e-5, rtol=0)
torch.testing.assert_close(near.double(), every.gather(1, found - 1),
                           atol=1e-5, rtol=0)
assert torch.equal(found[:, 0], picked)
others = knn(emb.idx_to_vec, emb.idx_to_vec[picked], 10, picked[:, None])
torch.testing.assert_close(others[0], near[:, 1:])
both = knn(emb.idx_to_vec, emb.idx_to_vec[picked[0]], 10, found[0, :2])
assert not set(both[1].tolist()) & set(found[0, :2].tolist())

# check 15.7-C4: an unknown word is 0 and never wins, without a NaN
assert emb[["no such word", "<unk>"]].abs().sum() == 0
far = torch.tensor([[1.0, 0], [0, 0], [0, 0]])
values, index = knn(far, torch.tensor([[-1.0, 0], [0, 0]]), 1)
assert values.tolist() == [[-1], [0]] and index.tolist() == [[0], [0]]
values, index = knn(emb.idx_to_vec, emb["no such word"], len(emb))
assert not values.isnan().any() and index[-1] == 0  # "<unk>" comes last
for wrong, reason in (({"k": 0}, "k is 0"), ({
        "k": 3, "exclude": torch.tensor([0])}, "k is 3"), ({
            "k": 1, "exclude": torch.tensor([[0], [1]])}, "exclude is (2, 1)"),
        ({"k": 1, "x": torch.ones(3)}, "(3, 2)")):
    try:
        knn(**{"W": far, "x": far[0]} | wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        assert reason in str(error), error

# %%
shown = ["beautiful", "frog", "seven", "bank"] if real else words[:4]
for word in shown:
    inputs = emb.indices([word], strict=True)
    near, found = knn(emb.idx_to_vec, emb[word], 5, exclude=inputs)
    print(f"{word:10}", ", ".join(
        f"{emb.idx_to_token[i]} {cosine:.2f}" for cosine, i in
        zip(near.tolist(), found.tolist())))

# %% [markdown]
# ## Analogies
#
# The question "$a$ is to $b$ as $c$ is to what?" has a geometric answer if the four words stand at the corners of a parallelogram: the fourth corner is $\mathbf{v}_b-\mathbf{v}_a+\mathbf{v}_c$.
# Rumelhart and Abrahamson (1973) proposed this as a model of how people answer.
# The rule of Mikolov and others (2013), which Levy and Goldberg (2014) named *3CosAdd*, takes the word nearest to that corner:
#
# $$\hat d=\operatorname*{argmax}_{w\notin\{a,b,c\}}\cos(\mathbf{v}_w,\ \mathbf{v}_b-\mathbf{v}_a+\mathbf{v}_c). \tag{15.7.1}$$
#
# Here $\mathbf{v}_w\in\mathbb{R}^d$ is the vector of word $w$ of the vocabulary, scaled to length 1.
# The length of $\mathbf{v}_b-\mathbf{v}_a+\mathbf{v}_c$ is the same for all $w$, so we may as well maximize
#
# $$s(w)=\cos(w,b)-\cos(w,a)+\cos(w,c), \tag{15.7.2}$$
#
# where $\cos(w,b)$ abbreviates the cosine of the two vectors.
# So three cosines decide; no corner needs to be constructed.
#
# Now look below the argmax: $w\notin\{a,b,c\}$.
# Without this rule $c$ is a candidate too, and its last term is $\cos(c,c)=1$, the largest possible.
# The right word $d$ beats $c$ only if
#
# $$\big[\cos(d,b)-\cos(d,a)\big]-\big[\cos(c,b)-\cos(c,a)\big]>1-\cos(c,d). \tag{15.7.3}$$
#
# The offset has to pay for the whole gap between $c$ and $d$.
# The same goes for $b$, with $b$ and $c$ exchanged: (15.7.2) treats them alike.

# %% tags=["export"]
def offset_scores(near_a, near_b, near_c, method="add"):
    """Scores of candidates for d from their cosines with a, b and c.

    All three have one shape, which the scores have, too. "add" is 3CosAdd
    (Mikolov et al., 2013), "mul" is 3CosMul (Levy and Goldberg, 2014), both
    for vectors of length 1. Where a cosine with c is -inf, as in
    `cosines`, the score is. Raises ValueError for another method.
    """
    if method == "add":
        scores = (near_b - near_a).add_(near_c)
    elif method == "mul":
        near_a, near_b, shifted = ((near + 1).div_(2)
                                   for near in (near_a, near_b, near_c))
        scores = near_b.mul_(shifted).div_(near_a.add_(1e-3))
    else:
        raise ValueError(f"method is {method!r}; choose 'add' or 'mul'.")
    return scores.masked_fill_(near_c == -math.inf, -math.inf)

# %% tags=["export"]
def analogy(a, b, c, emb, k=1, exclude=True, method="add"):
    """The k best words d for "a is to b as c is to d", with their scores.

    `emb` is a `TokenEmbedding`; `method` as for `offset_scores`. With
    `exclude` a, b and c may not answer. Returns a list of (word, score),
    best first. Raises ValueError for an unknown word, or if there are not k
    words to choose from.
    """
    W, inputs = emb.idx_to_vec, emb.indices([a, b, c], strict=True)
    scores = offset_scores(*cosines(W, W[inputs]), method)  # (V,)
    if exclude:
        scores[inputs] = -math.inf
    left = len(emb) - 1 - exclude * len({a, b, c})
    if not 1 <= k <= left:
        raise ValueError(f"k is {k}, and {left} words are left to choose "
                         "from; 1 <= k <= as many is needed.")
    best = scores.topk(k)
    return [(emb.idx_to_token[i], score) for score, i in
            zip(best.values.tolist(), best.indices.tolist())]

# %%
asked = ([("man", "king", "woman"), ("paris", "france", "rome"),
          ("walk", "walking", "swim"), ("do", "did", "go"),
          ("man", "doctor", "woman")] if real else [words[:3], words[3:6]])
for a, b, c in asked:
    kept, raw = (analogy(a, b, c, emb, 2, exclude) for exclude in (
        True, False))
    print(f"{a} : {b} = {c} : ?".ljust(28), *(
        f"{w} {score:.2f}".ljust(16) for w, score in kept), "| raw:", *(
        f"{w} {score:.2f}" for w, score in raw))
if real:
    assert [analogy(*q, emb)[0][0] for q in asked] == [
        "queen", "italy", "swimming", "went", "doctors"]
    assert [analogy(*q, emb, exclude=False)[0][0] for q in asked] == [
        "king", "rome", "swim", "went", "doctor"]
a, b, c = F.normalize(emb[list(asked[1])], dim=1)
corner, W = b - a + c, emb.idx_to_vec
for w, score in analogy(*asked[1], emb, k=50, exclude=False):
    v = F.normalize(emb[w], dim=0)  # (15.7.2) and (15.7.3), from vectors
    torch.testing.assert_close(v @ corner, torch.tensor(score))
    offset, gap = (v - c) @ (b - a), 1 - v @ c
    torch.testing.assert_close(offset - gap, score - c @ corner, atol=1e-5,
                               rtol=0)
    if w == "italy":
        print(f"(15.7.3) for italy: {offset:.2f} > {gap:.2f} is false")
        assert 0.75 < offset / gap < 0.87

# %% [markdown]
# With the input words excluded, the table knows the queen.
# Raw, that is without the rule, king minus man plus woman is king, and paris, france, rome give rome: the offset pays only four fifths of the gap to italy.
# The function in *Dive into Deep Learning* does not exclude the input words; yet its four examples come out right there, in GloVe's vectors, and three of them here.
# Four chosen examples cannot show how much hangs on the rule.
# (GloVe's table is a download of 0.8 GB. If you put its file `glove.6B.50d.txt` beside this notebook, the last lines of the cell ask the four questions of it, as there: raw, and with vectors of their own lengths. Without the file they do nothing.)

# %%
chosen = [("man", "woman", "son", "daughter"),
          ("beijing", "china", "tokyo", "japan"),
          ("bad", "worst", "big", "biggest"), ("do", "did", "go", "went")]
if real:
    raw = [analogy(*quad[:3], emb, exclude=False)[0][0] for quad in chosen]
    print("raw:", ", ".join(raw))
    assert raw == ["son", "japan", "biggest", "went"]

# check 15.7-C6: GloVe's own table, where the reader has put it
glove_file = Path("glove.6B.50d.txt")
if glove_file.is_file():
    glove = TokenEmbedding(glove_file)
    assert glove.idx_to_vec.shape == (400_001, 50)
    assert glove.token_to_idx["beautiful"] == 3367
    for a, b, c, answer in chosen:
        corner = glove[b] - glove[a] + glove[c]
        assert knn(glove.idx_to_vec, corner, 1)[1] == glove.indices([answer])

# %% [markdown]
#
# The last question of the first list is one of those that were used to show prejudice in word vectors.
# With the exclusion "doctor" cannot be the answer, whatever the vectors say; the raw answer is "doctor".
# Nissim and others (2020) point out that such sensational examples say little for this reason, without denying that vectors carry prejudice; Exercise 15.7-4 looks at a measure of it.

# %% [markdown]
# ## What a score can mean
#
# Before we count on real vectors, we count where we know the truth.
# In planted vectors each word is a sum of known attributes, with orthonormal vectors, plus noise of its own.
# Forty items have two forms each, like the country and the capital, or singular and plural.

# %% tags=["export"]
def planted_embeddings(attributes, d=100, noise=0.0, seed=0):
    """A `TokenEmbedding` whose words are sums of what is known of them.

    `attributes` maps each word to its attributes: a list of names, or a
    dictionary from names to weights. Each attribute gets one of d
    orthonormal vectors; to the weighted sum comes a random vector of
    expected squared length noise**2, another for each word. Raises
    ValueError for more than d attributes.
    """
    weights = {word: each if isinstance(each, dict) else dict.fromkeys(
        each, 1.0) for word, each in attributes.items()}
    names = list(dict.fromkeys(n for each in weights.values() for n in each))
    if not 1 <= len(names) <= d:
        raise ValueError(f"{len(names)} attributes in d = {d} dimensions; "
                         "1 to d of them can be orthogonal.")
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(
        d, len(names), generator=generator)).Q.mT  # (attributes, d)
    table = torch.tensor([[each.get(name, 0.0) for name in names]
                          for each in weights.values()])
    extra = torch.randn(len(table), d, generator=generator) * noise / d**0.5
    return TokenEmbedding((list(weights), table @ basis + extra))

# %% tags=["export"]
class Answers(NamedTuple):
    """What `evaluate_analogies` found, four tensors (n,) of True or False.

    Was the answer right with a, b and c `excluded`, was it right `raw`; is
    the raw one among the `inputs` a, b and c; and is the nearest `neighbor`
    of c, with a and b left out as well, the answer?
    """

    excluded: torch.Tensor
    raw: torch.Tensor
    inputs: torch.Tensor
    neighbor: torch.Tensor

# %% tags=["export"]
def evaluate_analogies(quads, emb, method="add", batch=64):
    """`Answers` to n questions (a, b, c, d), a list of 4 words each.

    `emb` is a `TokenEmbedding` that must have all of the words, `method` as
    for `offset_scores`; `batch` questions are scored at a time. Raises
    ValueError for a word that is not there, or for no question.
    """
    if not quads or any(len(quad) != 4 for quad in quads):
        raise ValueError(f"{len(quads)} questions; one or more are needed, "
                         "of four words each.")
    words = sorted({word for quad in quads for word in quad})
    place = {word: i for i, word in enumerate(words)}
    rows = emb.indices(words, strict=True)  # in the table
    near = cosines(emb.idx_to_vec, emb.idx_to_vec[rows])  # (words, V)
    first = near.topk(min(4, near.shape[1])).indices  # (words, 4)
    index = torch.tensor([[place[word] for word in quad] for quad in quads],
                         device=rows.device)  # (n, 4)
    found = []
    for a, b, c, d in (part.unbind(1) for part in index.split(batch)):
        given = rows[torch.stack((a, b, c), dim=1)]  # (batch, 3)
        scores = offset_scores(near[a], near[b], near[c], method)
        raw = scores.argmax(dim=1)
        best = scores.scatter_(1, given, -math.inf).argmax(dim=1)
        free = (first[c][:, :, None] != given[:, None]).all(dim=2)
        neighbor = first[c].gather(1, free.int().argmax(dim=1)[:, None])
        found.append(torch.stack((
            best == rows[d], raw == rows[d],
            (raw[:, None] == given).any(dim=1), neighbor[:, 0] == rows[d])))
    return Answers(*torch.cat(found, dim=1))

# %%
forms = "first", "second"
pairs = [[f"{form}{i}" for form in forms] for i in range(40)]
planted_quads = [[*p, *q] for p in pairs for q in pairs if p != q]
shared = {f"{form}{i}": [f"item{i}", form] for i in range(40)
          for form in forms}
unrelated = {word: names[:1] for word, names in shared.items()}

# check 15.7-C1: without noise a shared offset gives exact analogies
exact = planted_embeddings(shared)
found = evaluate_analogies(planted_quads, exact)
assert found.excluded.all() and found.raw.all() and not found.inputs.any()
corner = exact["second3"] - exact["first3"] + exact["first7"]
torch.testing.assert_close(corner, exact["second7"], atol=1e-5, rtol=0)
gram = exact[[word for pair in pairs for word in pair]]
torch.testing.assert_close((gram @ gram.mT)[0, :3],
                           torch.tensor([2.0, 1.0, 1.0]))
for wrong in (("planted_embeddings", (shared, 10)),
              ("evaluate_analogies", ([["first0", "x", "y", "z"]], exact)),
              ("evaluate_analogies", ([], exact))):
    try:
        globals()[wrong[0]](*wrong[1])
        raise AssertionError(f"{wrong[0]} accepted {wrong[1]}")
    except ValueError as error:
        assert any(reason in str(error) for reason in (
            "in d = 10", "no vector for x", "0 questions"))

# %%
# all at once, and question by question
noisy = planted_embeddings({word: {item: 1.5, form: 1.0} for word, (
    item, form) in shared.items()}, noise=1.3)
found = evaluate_analogies(planted_quads[:200], noisy)
for (*inputs, answer), excluded, raw, barred, near in zip(
        planted_quads, *found):
    best, = analogy(*inputs, noisy)
    first, = analogy(*inputs, noisy, exclude=False)
    nearest = knn(noisy.idx_to_vec, noisy[inputs[2]], 1,
                  noisy.indices(inputs))[1].item()
    assert (excluded, raw, barred, near) == (
        best[0] == answer, first[0] == answer, first[0] in inputs,
        noisy.idx_to_token[nearest] == answer)
assert all(0 < each.sum() < 200 for each in found)
small = TokenEmbedding((["a", "b", "c", "d", "e"], torch.eye(5)))
assert len(analogy("a", "b", "a", small, 3)) == 3
for k in 0, 3:  # a, b, c are barred
    try:
        analogy("a", "b", "c", small, k)
        raise AssertionError(f"k = {k} was accepted")
    except ValueError as error:
        assert f"k is {k}, and 2 words" in str(error)

# %% [markdown]
# How much noise does the raw answer withstand?
# Let $\sigma^2$ be the expected squared length of the noise, and leave out the products of independent noise, which are small in many dimensions.
# The corner $\mathbf{v}_b-\mathbf{v}_a+\mathbf{v}_c$ holds the item of $c$ and the second form, and the noise of $a$, $b$ and $c$.
# Its product with $\mathbf{v}_d$ is 2, one for the item and one for the form.
# With $\mathbf{v}_c$ it is $1+\sigma^2$: the item, and the noise of $c$ with itself; $\mathbf{v}_b$ gives the same, and other words 1 at most.
# All words have about the same length, so the raw answer should break down at $\sigma=1$, and the excluded one later.
#
# As a control we plant no relation at all: the two forms of an item share the item, and nothing else.

# %%
noises = np.linspace(0.1, 2.5, 13)
planted = {}
for name, attributes in (("shared offset", shared),
                         ("no relation", unrelated)):
    planted[name] = torch.stack([torch.stack(evaluate_analogies(
        planted_quads, planted_embeddings(attributes, 384, noise, seed)
    )).double().mean(dim=1) for noise in noises for seed in range(3)]
    ).view(len(noises), 3, 4).mean(dim=1)  # (noises, 4)

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharey=True)
for ax, (name, shares) in zip(axes, planted.items()):
    d2l.plot(noises, list(shares[:, [0, 1, 3]].mT),
             ["inputs excluded", "raw", "neighbor of c"], title=name,
             xlabel="length of the noise", ax=ax,
             ylabel="right answers" if ax is axes[0] else "")
    ax.axvline(1, color="black", lw=0.8, ls=":")
axes[0].get_legend().remove()
d2l.describe(axes, """Right answers against the length of the noise, in two
    panels. With a shared offset the raw answers fall from 1 to 0 around
    length 1, those with exclusion stay near 1 until about 1.5, and the
    neighbor of c is seldom right. Without a relation the raw answers are 0,
    but those with exclusion and the neighbor of c are near 1 up to 1.5.""")

# %% [markdown]
# **Figure 15.7.2.** Planted vectors, $d=384$, 1560 questions, mean of three seeds. Dotted: the predicted end of the raw answers.

# %%
low, middle, high = (int(np.abs(noises - s).argmin()) for s in (.7, 1, 1.3))
offset, none = planted.values()
print("noise, then excluded, raw, raw = input, neighbor of c")
for i in low, middle, high:
    print(f"{noises[i]:.1f}", *(" ".join(f"{share:.2f}" for share in row[i])
                                .ljust(22) for row in (offset, none)))
assert offset[low, 1] > 0.95 and offset[high, 1] < 0.05
assert offset[high, 0] > 0.95 and offset[1:, 3].max() < 0.2
assert none[:, 1].max() < 0.01 and none[:high + 1, [0, 3]].min() > 0.99

# %% [markdown]
# The raw answer breaks down where predicted; exclusion hides that for a while, because the words that would win are barred.
#
# The right panel is the warning.
# This space holds no relation, so no offset means anything, and yet up to a noise of 1.3 the score is above 0.99.
# We built the nearest neighbor of $c$ to be its other form, and 3CosAdd, barred from $c$, finds it.
# Hence two numbers belong beside every analogy score: the raw one, and that of the nearest neighbor of $c$ under the same exclusion, one of the baselines of Linzen (2016).
# Rogers and others (2017) show in real vectors how much a right answer depends on the words being similar.

# %% [markdown]
# ## Twelve thousand questions
#
# The questions of Mikolov and others (2013) come in 14 groups, five of meaning and nine of grammar.
# We ask those whose four words are all in the table.
# They are fewer than they seem: each group is made by pairing between 23 and 116 pairs of words with each other, so the answers are far from independent, and we give no standard error.
#
# The planted vectors suggest one more control.
# "Wrong pair" keeps $c$ and $d$ and takes $a$ and $b$ from a random question of the other kind: how often is the answer right with an offset that has nothing to do with it?
# We draw the pairs three times and average.

# %%
def read_questions(path):
    """Group -> questions, each a list of four words in lower case."""
    groups = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(":"):
            group = groups.setdefault(line[1:].strip(), [])
        else:
            group.append(line.lower().split())
    return groups


def answerable(groups, emb):
    """The questions with four known words, and the group of each."""
    known = [(quad, name) for name, quads in groups.items() for quad in quads
             if all(word in emb.token_to_idx for word in quad)]
    return [quad for quad, _ in known], np.array([name for _, name in known])


def wrong_pairs(quads, grammar, rng):
    """a and b from a question of the other kind, none of them c or d."""
    others = np.flatnonzero(grammar), np.flatnonzero(~grammar)
    swapped = []
    for (*_, c, d), kind in zip(quads, grammar.astype(int)):
        a, b, pool = c, d, others[kind]
        while {a, b} & {c, d}:
            a, b = quads[pool[rng.integers(len(pool))]][:2]
        swapped.append([a, b, c, d])
    return swapped

# %%
(path,) = d2l.fetch("word-analogies").files.values()
questions = read_questions(path)
if not real:  # words of the stand-ins, at random
    rng = np.random.default_rng(0)
    known = sorted({*words} & {*read_corpus(
        *map(d2l.fetch, WORD_CORPORA), step=step).vocab.idx_to_token})
    questions = {name: rng.permutation(known)[:40].reshape(10, 4).tolist()
                 for name in questions}
quads, names = answerable(questions, emb)
grammar = np.char.startswith(names, "gram")
answers = evaluate_analogies(quads, emb)
rng = np.random.default_rng(0)
control = torch.stack([evaluate_analogies(wrong_pairs(
    quads, grammar, rng), emb).excluded for _ in range(3)]).double()
columns = {"excluded": answers.excluded, "raw": answers.raw,
           "raw is input": answers.inputs, "neighbor": answers.neighbor,
           "wrong pair": control.mean(dim=0)}
print(" " * 28 + "questions" + "".join(f"{name:>13}" for name in columns))
for name, mask in (("all", grammar | True), ("meaning", ~grammar),
                   ("grammar", grammar)):
    print(f"{name:28}{mask.sum():9}" + "".join(
        f"{column.double()[mask].mean():13.3f}"
        for column in columns.values()))
print("wrong pair, draw by draw:", " ".join(
    f"{value:.3f}" for value in control.mean(dim=1)))

# %%
# check 15.7-C2: MiniLM's input vectors on the questions
share = {name: column.double() for name, column in columns.items()}
if real:
    assert sum(map(len, questions.values())) == 19544
    assert len(quads) == 12154 and grammar.sum() == 7891
    for name, value in (("excluded", 0.773), ("raw", 0.035), (
            "raw is input", 0.965), ("neighbor", 0.471),
            ("wrong pair", 0.404)):
        assert abs(share[name].mean() - value) < 0.01, name
    assert abs(share["excluded"][~grammar].mean() - 0.728) < 0.01
    assert abs(share["excluded"][grammar].mean() - 0.798) < 0.01
    assert 0 < np.ptp(control.mean(dim=1)) < 0.02
assert not (answers.raw & answers.inputs).any()
swapped = wrong_pairs(quads, grammar, rng)
kinds = defaultdict(set)  # of pairs (a, b)
for quad, kind in zip(quads, grammar.tolist()):
    kinds[*quad[:2]].add(kind)
for quad, new, kind in zip(quads, swapped, grammar.tolist()):
    assert new[2:] == quad[2:] and not {*new[:2]} & {*new[2:]}
    assert kind not in kinds[*new[:2]] or not real

# %% tags=["hide-input"]
groups = list(dict.fromkeys(names.tolist()))
_, ax = plt.subplots(figsize=(6.6, 3.9))
styles = {"excluded": "o", "neighbor": "s", "wrong pair": "x", "raw": "|"}
for name, marker in styles.items():
    ax.plot([share[name][names == group].mean() for group in groups],
            range(len(groups)), marker, label=name, ls="")
ax.set(yticks=range(len(groups)), yticklabels=groups, xlim=(-0.03, 1.03),
       xlabel="right answers", ylim=(len(groups) - 0.5, -0.5))
ax.tick_params(axis="y", labelsize=8)
ax.legend(loc="upper center", bbox_to_anchor=(0.4, 1.16), ncols=4)
d2l.describe(ax, """For each of 14 groups the share of right answers. With
    exclusion most lie between 0.5 and 1, raw ones near 0. The neighbor of c
    and the wrong pair lie in between; for nationalities and plurals the
    neighbor almost reaches the answers with exclusion.""")

# %% [markdown]
# **Figure 15.7.3.** Right answers by group, MiniLM's input vectors.
#
# With exclusion about three in four are right.
# Raw, 3CosAdd answers with one of the words of the question in 96 or 97 of 100 cases, and is right in nearly all others.
# The neighbor of $c$, which is not told the relation at all, gets almost half.
# In two groups, nationalities and plurals, 3CosAdd adds next to nothing to it; for superlatives it adds nearly everything, and most groups lie in between.
# Over all questions, a wrong pair does worse than no pair.
# So 3CosAdd is right in 0.30 more of the questions than the neighbor, and in 0.37 more than with a wrong offset: measured against these two, that is what the right offset is worth in this table, not 0.77.

# %%
if real:
    for group in "gram6-nationality-adjective", "gram8-plural":
        mask = names == group
        gain = (share["excluded"] - share["neighbor"])[mask].mean()
        assert 0 < gain < 0.02, (group, gain)
    mask = names == "gram4-superlative"
    assert share["neighbor"][mask].mean() < 0.1 < 0.85 < (
        share["excluded"][mask].mean())
    assert share["wrong pair"].mean() < share["neighbor"].mean() - 0.04
    assert (answers.raw | answers.inputs).double().mean() > 0.995
    gain = share["excluded"].mean() - torch.stack(
        (share["neighbor"], share["wrong pair"])).mean(dim=1)
    assert (gain - torch.tensor([0.30, 0.37])).abs().max() < 0.01, gain

# %% [markdown]
# ## Our own vectors
#
# The vectors of [Section 15.5](05-glove.ipynb) come from counts in 1.7 million words: a fixed window of five, PPMI with context power 0.75, and a truncated SVD.
# They know contexts only.

# %%
corpus = read_corpus(*map(d2l.fetch, WORD_CORPORA), step=step)
W, _ = svd_vectors(ppmi(cooccurrence(
    corpus.ids, corpus.sentence_ids, 5, num_words=len(corpus.vocab)),
    power=0.75), d)
own = TokenEmbedding((corpus.vocab.idx_to_token, W))
own_quads, _ = answerable(questions, own)
own_answers = evaluate_analogies(own_quads, own)


def known_to(table, quads):
    """Which questions have four words of the table, a mask."""
    return torch.tensor([all(word in table.token_to_idx for word in quad)
                         for quad in quads])


results = {}
for name, found in (
        ("own", torch.stack(own_answers)),
        ("own", torch.stack(own_answers)[:, known_to(emb, own_quads)]),
        ("MiniLM", torch.stack(answers)[:, known_to(own, quads)])):
    shares = results[name, found.shape[1]] = found.double().mean(dim=1)
    print(f"{name:7}{found.shape[1]:6} questions: excluded {shares[0]:.3f}, "
          f"raw {shares[1]:.3f}, neighbor {shares[3]:.3f}")

# %%
# the rest of check C2: our own vectors
if full_run:
    assert [number for _, number in results] == [6401, 6271, 6271]
    for name, number, values in (
            ("own", 6401, (0.124, 0.017, 0.084)),
            ("MiniLM", 6271, (0.803, 0.038, 0.523))):
        found = results[name, number][[0, 1, 3]]
        assert (found - torch.tensor(values)).abs().max() < 0.01, found

# %% [markdown]
# One question in eight, where the neighbor of $c$ alone answers one in twelve.
# On the questions that both tables can answer, MiniLM's vectors are right four times in five.
# This does not compare the methods: amount of text, dimension and what was trained all differ.
#
# ## Similarity, on the same pairs
#
# [Section 15.4](04-word2vec-pretraining.ipynb) compares vectors with people: WordSim-353 asks how related two words are, SimLex-999 how similar; cup and coffee are related, not similar.
# Tables that cover different pairs have taken different tests, so we score both on the words that they share.
#
# Would other vectors correlate with the judgments as well?
# As a control we exchange vectors at random among words of about the same frequency, in blocks of 50 in the order of counts.
# All vectors are still there, and frequent words still have vectors of frequent words; only which word has which is lost.

# %%
common = sorted({*own.token_to_idx} & {*emb.token_to_idx} - {"<unk>"})
vocab = Vocab(common)
frequency = corpus.counts[[corpus.vocab[word] for word in common]].double()
order = frequency.argsort(descending=True, stable=True)


def exchanged(W, generator):
    """W with rows permuted in blocks of 50 of like frequency, not row 0."""
    W = W.clone()
    for block in (1 + order).split(50):  # row 0 is that of "<unk>"
        W[block] = W[block[torch.randperm(len(block), generator=generator)]]
    return W


judged = {file: judged_pairs(path) for file, path in
          d2l.fetch("word-similarity").files.items()}
generator = torch.Generator().manual_seed(0)
rho, covered = defaultdict(list), {}
for name, table in (("MiniLM", emb), ("own", own)):
    W = table[vocab.idx_to_token]  # (1 + words, d)
    for i in range(21):  # the table, and then twenty controls
        version = exchanged(W, generator) if i else W
        for file, pairs in judged.items():
            value, covered[file] = similarity_score(version, vocab, pairs)
            rho[file, name + " exchanged" * (i > 0)].append(value)
print(f"{len(common)} words in both tables")
for (file, name), values in sorted(rho.items(), reverse=True):
    print(f"{file:15}{name:17}{covered[file]:4} pairs, rho",
          f"{min(values):6.3f}" + f" to {max(values):.3f}" * (
              len(values) > 1))

# %%
# check 15.7-C7: the tables and their control on the same covered pairs
assert vocab.idx_to_token == ["<unk>", *common]
again = exchanged(W, generator)
for block in (1 + order).split(50):  # the same vectors, but elsewhere
    assert torch.equal(W[block].sort(dim=0)[0], again[block].sort(dim=0)[0])
    assert len(block) < 10 or (
        W[block] == again[block]).all(dim=1).double().mean() < 0.5
if full_run:
    assert len(common) == 11275
    for file, number, values in (("wordsim353.tsv", 286, (0.759, 0.495)),
                                 ("simlex999.txt", 901, (0.524, 0.149))):
        assert covered[file] == number
        for name, value in zip(("MiniLM", "own"), values):
            control = rho[file, f"{name} exchanged"]
            assert abs(rho[file, name][0] - value) < 0.01
            assert max(map(abs, control)) < 3.5 / math.sqrt(number - 1)
            assert max(control) < rho[file, name][0] - 0.07

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 2.4))
rows = [(file, name) for file in judged for name in ("MiniLM", "own")]
for y, (file, name) in enumerate(rows):
    color = "#0072B2" if name == "MiniLM" else "#D55E00"
    control = rho[file, f"{name} exchanged"]
    ax.plot(control, [y] * len(control), "x", color="#777777", ms=4)
    ax.errorbar(rho[file, name], [y], fmt="o", color=color, capsize=3,
                xerr=2 / math.sqrt(covered[file] - 1))
ax.set(yticks=range(4), yticklabels=[f"{file.split('.')[0]}, {name}"
                                     for file, name in rows],
       ylim=(3.5, -0.5), xlabel="rank correlation with judgments")
d2l.describe(ax, """Rank correlations of two tables with two sets of
    judgments: MiniLM above 0.7 and 0.5, own vectors near 0.5 and 0.15. The
    crosses of the exchanged vectors lie around 0.""")

# %% [markdown]
# **Figure 15.7.4.** Correlation with human judgments on the same pairs; bars of two standard errors $1/\sqrt{n-1}$, which hold for unrelated rankings, crosses for the exchanged vectors.
#
# Both tables stand clear of their twenty controls on both sets, our own on SimLex-999 by about 0.1.
# The gap between the two sets is wider for the vectors that know contexts only.
# That fits what SimLex-999 was made to tell apart (Hill and others, 2015): words of one topic share contexts without being alike.
# MiniLM's vectors do better on both, and have been trained on paraphrases; how much is due to that, two tables cannot tell.
#
# Tables of word vectors are still made and used where little may be computed (Carlson and others, 2025, trained GloVe anew).
# For whole sentences and documents the usual choice is an encoder that sees the context: in the benchmark MTEB (Muennighoff and others, 2023) averages of GloVe's vectors are the fastest models, with low average scores.

# %% [markdown]
# ## Hubs and frequent words
#
# Nearest neighbors have a defect that a correlation does not show.
# Being near is mutual, being among the nearest is not: some words can be among the ten nearest of very many others, and some of none.
# The former are called *hubs* (Radovanović and others, 2010).
# Let $N_{10}(w)$ be the number of words that have $w$ among their ten nearest; its mean is 10.
# If it were left to chance, it would be nearly Poisson.
# Its *skewness*, the mean of $((N_{10}-\mu)/\sigma)^3$ with the mean $\mu$ and the standard deviation $\sigma$ of $N_{10}$, would then be $1/\sqrt{10}\approx0.32$; a long tail of hubs makes it larger.
# We count among the 4000 of the shared words that are most frequent in our corpus, by cosine, and among as many random normal vectors, by cosine and by distance.

# %%
top = order[:4000]
frequent = [common[i] for i in top.tolist()]
generator = torch.Generator().manual_seed(0)
random = torch.randn(len(top), d, generator=generator)
compared = {"MiniLM": emb[frequent], "own": own[frequent],
            "random": random, "random, by distance": random}
hubs, skewness = {}, {}
for name, table in compared.items():
    if name.endswith("distance"):
        found = torch.cdist(table, table).fill_diagonal_(math.inf).topk(
            10, largest=False).indices
    else:
        found = knn(table, table, 10, torch.arange(len(table))[:, None])[1]
    assert (found != torch.arange(len(table))[:, None]).all()
    N = torch.bincount(found.flatten(), minlength=len(table)).double()
    skewness[name] = (((N - N.mean()) / N.std(correction=0))**3).mean()
    hubs[name] = N
    print(f"{name:20}skewness {skewness[name]:5.2f}, largest {N.max():4.0f},"
          f" nearest of no word {(N == 0).double().mean():.3f}")
for name in "MiniLM", "own":
    lengths = spearmanr(compared[name].norm(dim=1), frequency[top]).statistic
    popular = spearmanr(hubs[name], frequency[top]).statistic
    print(f"{name}: rank correlation of frequency with N {popular:.2f}, with "
          f"the length {lengths:.2f}; hubs", ", ".join(
              frequent[i] for i in hubs[name].topk(5).indices))

# %%
if full_run:
    assert 0.5 < skewness["MiniLM"] < 0.85 and 0.9 < skewness["own"] < 1.4
    assert abs(skewness["random"] - 10**-0.5) < 0.1
    assert skewness["random, by distance"] > 3 * skewness["own"]
    assert spearmanr(hubs["random, by distance"],
                     random.norm(dim=1)).statistic < -0.9
    for name, value in ("MiniLM", 0.14), ("own", 0.50):
        assert abs(spearmanr(compared[name].norm(dim=1), frequency[
            top]).statistic - value) < 0.05
    for name in "MiniLM", "own":
        assert 0.2 < spearmanr(hubs[name], frequency[top]).statistic < 0.35
    assert all(hubs[name].sum() == 10 * len(top) for name in hubs)

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.7))
for (name, N), style in zip(hubs.items(), ("-", "--", ":", "-.")):
    size = torch.arange(1, int(N.max()) + 1)
    ax.plot(size, (N[:, None] >= size).double().mean(dim=0), style,
            label=name)
ax.set(xscale="log", yscale="log", xlabel="$n$",
       ylabel=r"share of words, $N_{10}\geq n$")
ax.axvline(10, color="black", lw=0.8, ls=":")
ax.legend()
d2l.describe(ax, """Share of words that are among the ten nearest of at least
    n others, on two logarithmic axes, for four tables: it falls fastest for
    random vectors by cosine, then MiniLM, then our own vectors, and by far
    slowest for random vectors by distance.""")

# %% [markdown]
# **Figure 15.7.5.** How often words are among the ten nearest of others, 4000 vectors each. Dotted: the mean.
#
# Random directions have no hubs to speak of; the same vectors by distance have enormous ones, those with short vectors near the center.
# So a high dimension alone does not make hubs.
# Low and others (2013) trace them to boundaries and gradients of density; the cosine puts all vectors on a sphere, where random directions have neither.
# Real words have some even by cosine, mildly, and more so in our own table.
# In both tables frequent words are among the nearest more often, though frequency is far from telling the hubs.
# The length of a vector goes with frequency as well, clearly in our own table and weakly in MiniLM's: one more reason to leave it out of a search.
#
# ## Searching without looking at everything
#
# One product with the whole table is exact, and fast enough for a vocabulary.
# But in document retrieval there may be a billion passages, and each query would read them all.
# *Approximate* search gives up some neighbors for speed; *recall at 10* is the share of the true ten nearest that it finds.
#
# An *inverted file* partitions the vectors by k-means into *cells*, each with a list of its members.
# A query is compared with all centroids, and then with the members of the few cells whose centroids are nearest, the *probes* (Sivic and Zisserman, 2003; Jégou and others, 2011).

# %% tags=["export"]
def ivf_cells(W, cells, steps=8, seed=0):
    """Centroids (cells, d) and the cell (V,) of each row of W (V, d).

    Spherical k-means: directions are compared, and each centroid is the
    mean direction of its rows. It starts from rows drawn at random, and a
    centroid without rows stays where it is. Raises ValueError unless 1 <=
    cells <= V.
    """
    if not 1 <= cells <= len(W):
        raise ValueError(f"{cells} cells for {len(W)} vectors; choose from 1 "
                         "to as many as there are vectors.")
    generator = torch.Generator().manual_seed(seed)
    W = F.normalize(W, dim=1)
    centroids = W[torch.randperm(len(W), generator=generator)[:cells]
                  .to(W.device)]
    for _ in range(steps):
        owner = (W @ centroids.mT).argmax(dim=1)  # (V,)
        sums = torch.zeros_like(centroids).index_add(0, owner, W)
        centroids = torch.where((sums == 0).all(dim=1, keepdim=True),
                                centroids, F.normalize(sums, dim=1))
    return centroids, (W @ centroids.mT).argmax(dim=1)

# %% tags=["export"]
def ivf_search(W, x, k, cells, probes):
    """Approximate `knn`: looks only into the cells nearest to a query.

    `cells` is what `ivf_cells` returned for W (V, d); for each of the
    queries x (n, d) the rows in the `probes` cells with the nearest
    centroids are compared. Returns cosines and indices (n, k), and how many
    rows were visited, (n,). If those are fewer than k, the rest has cosine
    -inf and index -1. Raises ValueError for other shapes, for k < 1, or
    unless 1 <= probes <= cells.
    """
    centroids, owner = cells
    if x.ndim != 2 or not 1 <= probes <= len(centroids) or k < 1 or (
            len(owner) != len(W)):
        raise ValueError(f"k is {k}, x {tuple(x.shape)} instead of (n, d), "
                         f"with {probes} probes of {len(centroids)} cells, "
                         f"and {len(owner)} of {len(W)} vectors have a cell.")
    near = knn(centroids, x, probes)[1]  # (n, probes)
    sizes = owner.bincount(minlength=len(centroids))
    lists = owner.argsort(stable=True).split(sizes.tolist())
    best = x.new_full((len(x), probes, k), -math.inf)
    ids = near.new_full((len(x), probes, k), -1)
    for cell, rows in enumerate(lists):  # one product for each list
        query, slot = (near == cell).nonzero(as_tuple=True)
        if len(query) and len(rows):
            found = cosines(W[rows], x[query]).topk(min(k, len(rows)))
            m = found.values.shape[1]
            best[query, slot, :m] = found.values
            ids[query, slot, :m] = rows[found.indices]
    values, order = best.flatten(1).topk(k)
    ids = ids.flatten(1).gather(1, order)
    return (values, ids.masked_fill(values == -math.inf, -1),
            sizes[near].sum(dim=1))

# %%
mixed = torch.randperm(len(words), generator=torch.Generator()
                       .manual_seed(1))
queries, base = vectors[mixed[:num_queries]], vectors[mixed[num_queries:]]
cells = ivf_cells(base, 128 if real else 32)
truth = knn(base, queries, 10)


def recall(found, truth):
    """Share of the indices `truth` (n, k) that are in `found` (n, k)."""
    return (truth[:, :, None] == found[:, None]).any(
        dim=2).double().mean().item()


curve = []
for probes in [2**i for i in range(len(cells[0]).bit_length())]:
    near, found, visited = ivf_search(base, queries, 10, cells, probes)
    curve.append((visited.double().mean().item() / len(base),
                  recall(found, truth[1])))
    print(f"{probes:4} probes: {curve[-1][0]:.3f} of the vectors, "
          f"recall at 10 {curve[-1][1]:.3f}")

# %%
# check 15.7-C5: all cells are exact; recall rises with the probes
torch.testing.assert_close(near, truth[0])
assert torch.equal(visited, torch.full_like(visited, len(base)))
assert curve[-1][1] > 0.9999  # but for ties
assert all(a[1] <= b[1] for a, b in zip(curve, curve[1:]))
torch.testing.assert_close(cells[0].norm(dim=1), torch.ones(len(cells[0])))
own_cell = (F.normalize(base, dim=1) * cells[0][cells[1]]).sum(dim=1)
torch.testing.assert_close(own_cell, cosines(cells[0], base).amax(dim=1))
start = F.normalize(base, dim=1)[torch.randperm(
    len(base), generator=torch.Generator().manual_seed(0))[:len(cells[0])]]
assert own_cell.mean() > 1.1 * cosines(start, base).amax(dim=1).mean()
few = ivf_search(base, queries[:3], len(base), cells, 1)
for query, index, size in zip(queries, few[1], few[2]):
    members = set(index[index >= 0].tolist())  # all of one cell, and -1
    nearest = knn(cells[0], query, 1)[1].item()
    assert members == set((cells[1] == nearest).nonzero()[:, 0].tolist())
    assert len(members) == size
if real:
    assert abs(curve[0][1] - 0.49) < 0.05 and curve[0][0] < 0.01
    assert abs(curve[3][1] - 0.87) < 0.03 and curve[3][0] < 0.07
    assert (np.diff([value for _, value in curve], n=2) < 0).all()
for wrong in 0, len(base) + 1:
    try:
        ivf_cells(base, wrong)
        raise AssertionError(f"{wrong} cells were accepted")
    except ValueError as error:
        assert f"{wrong} cells" in str(error)
for wrong in {"x": base[0]}, {"k": 0}, {"probes": 0}, {"probes": 999}:
    try:
        ivf_search(**{"W": base, "x": queries, "k": 9, "cells": cells,
                      "probes": 1} | wrong)
        raise AssertionError(f"{list(wrong)} was accepted")
    except ValueError as error:
        assert "vectors have a cell" in str(error)

# %% [markdown]
# We searched for `num_queries` of the words among all the others.
# Half of the neighbors are in the first cell, which is less than a hundredth of the table; eight cells of 128 have nearly nine in ten.
# Each doubling of the work buys less than the one before.
# How good a trade this is depends on the vectors; Exercise 15.7-3 shows some for which it is poor.
#
# A second way is to make the vectors small.
# *Quantization* stores each number with 8 bits instead of 32, or replaces whole blocks of a vector by the index of a centroid (*product quantization*, Jégou and others, 2011).

# %%
unit = F.normalize(base, dim=1)
scale = unit.abs().max() / 127
codes = (unit / scale).round().to(torch.int8)  # a quarter of the memory
eight = recall(knn(codes.float(), queries, 10)[1], truth[1])
signs = knn((base > 0).float() * 2 - 1, queries, 100)[1]
one, hundred = recall(signs[:, :10], truth[1]), recall(signs, truth[1])
print(f"recall at 10: {eight:.3f} with 8 bits a number, {one:.3f} with 1; "
      f"of the ten, {hundred:.3f} are among the best 100 by 1 bit")
assert eight > 0.97
if real:
    assert 0.6 < one < 0.8 and hundred > 0.97

# %% [markdown]
# Eight bits lose next to nothing here, and even the signs alone, one bit for each number, keep most of the neighbors; the queries stay at full precision.
# Nearly all are among the best hundred by signs, so comparing those hundred exactly makes up for nearly all of the loss.
# A third way is a graph that joins each vector to some near ones, on several levels, in which a search walks greedily: *HNSW* (Malkov and Yashunin, 2018).
# Libraries such as Faiss (Douze and others, 2024) combine all of these.

# %% [markdown]
# ## Summary
#
# - A search by cosine needs rules: rows of length 1, a vector 0 that never wins, and a statement of who may not answer.
# - 3CosAdd adds two cosines and subtracts a third. With MiniLM's input vectors it gets 0.77 of 12,154 questions right if the input words are barred, and less than 0.04 if they are not.
# - The nearest neighbor of $c$ alone is right in 0.47, an offset of a wrong pair in 0.40. Planted vectors without any relation can reach 1.0, so a score says little without these baselines.
# - Compare tables on the same pairs, with a control; correlation with judgments of relatedness is not correlation with similarity.
# - Hubs depend on the measure: random normal vectors have hardly any by cosine, and enormous ones by distance.
# - Inverted files and few bits trade recall for speed and memory; measure the recall on your own vectors.

# %% [markdown]
# ## Exercises
#
# ### Exercise 15.7-1
#
# Levy and Goldberg (2014) proposed *3CosMul*: map each cosine to $[0,1]$ by $p(w,x)=(1+\cos(w,x))/2$, and maximize $p(w,b)\,p(w,c)/(p(w,a)+\varepsilon)$, $\varepsilon=0.001$.
# Compare it with 3CosAdd, for MiniLM's vectors and our own, with and without exclusion.
# Why might a product be less taken with the input words than a sum?

# %% [markdown]
# #### Solution 15.7-1

# %%
scores = {}
for name, asked, table, added in (
        ("MiniLM", quads[::4], emb, torch.stack(answers)[:, ::4]),
        ("own", own_quads[::2], own, torch.stack(own_answers)[:, ::2])):
    multiplied = torch.stack(evaluate_analogies(asked, table, "mul"))
    for method, found in (("add", added), ("mul", multiplied)):
        scores[name, method] = found.double().mean(dim=1)
        print(f"{name:8}{method}  excluded {scores[name, method][0]:.3f}, "
              f"raw {scores[name, method][1]:.3f}, "
              f"raw is input {scores[name, method][2]:.3f}")
if full_run:
    gain = {name: scores[name, "mul"] - scores[name, "add"]
            for name in ("MiniLM", "own")}
    assert 0.01 < gain["MiniLM"][0] < 0.04 and gain["MiniLM"][1] > 0.1
    assert -0.05 < gain["own"][0] < -0.02 and gain["own"][1] > 0.02
    assert all(each[2] < -0.1 for each in gain.values())
near = torch.tensor([[0.2, 0.0], [0.7, 0.0], [0.5, 1.0]])  # of answer and c
torch.testing.assert_close(offset_scores(*near), torch.tensor([1.0, 1.0]))
assert (offset_scores(*near, "mul") - torch.tensor([1.06, 1])).abs().max(
    ) < 0.005
near = torch.tensor([[0.2, 0.4, 0.6], [0.1, 0.3, 0.5], [0.7, 0.8, 0.9]])
before = near.clone()
a, b, c = ((x + 1) / 2 for x in near)
torch.testing.assert_close(offset_scores(*near, "mul"), b * c / (a + 1e-3))
torch.testing.assert_close(offset_scores(*near),
                           near[1] - near[0] + near[2])
assert torch.equal(near, before)  # and they are left as they were
try:
    offset_scores(*near, "max")
    raise AssertionError("method 'max' was accepted")
except ValueError as error:
    assert "'max'" in str(error)

# %% [markdown]
# We asked every fourth of MiniLM's questions and every second of ours.
# With exclusion the product gains two to three points with MiniLM's vectors and loses about three with ours, so neither rule is better for both tables.
# Raw, it falls for the input words less often, in both tables.
# A possible reason: for $w=c$ the sum gets the full 1 from one term, which an answer has to make up in the same units.
# In the product that factor is 1 too, but it only scales the ratio of the other two, which is near 1 for a $c$ unrelated to $a$ and $b$.
# Take an answer with cosines 0.2, 0.7 and 0.5 to $a$, $b$ and $c$: the sum is 1.0, that of $c$ also 1.0, but the product is 1.06, and that of $c$ just below 1.

# %% [markdown]
# ### Exercise 15.7-2
#
# Mu and Viswanath (2018) subtract from all vectors their mean, and then project out their first few principal components, about $d/100$.
# Do it with our own vectors and with MiniLM's: what becomes of the cosines of random pairs, and of the correlation with judgments?

# %% [markdown]
# #### Solution 15.7-2

# %%
def without_top(V, k):
    """V (n, d) without its mean and its k first principal directions."""
    V = V - V.mean(dim=0)
    P = torch.linalg.eigh(V.mT @ V).eigenvectors[:, len(V[0]) - k:]
    return V - V @ P @ P.mT


draw = torch.randint(len(common), (2, 20_000), generator=torch.Generator()
                     .manual_seed(0))
draw = draw[:, draw[0] != draw[1]]
spread = {}
print(" " * 20 + "mean, deviation of cosines; two correlations")
for name, table in (("own", own), ("MiniLM", emb)):
    V = table[common]
    for label, U in (("as it is", V), *((f"without {k}", without_top(V, k))
                                        for k in (0, 1, 3))):
        unit = F.normalize(U, dim=1)
        pair = (unit[draw[0]] * unit[draw[1]]).sum(dim=1)
        U = TokenEmbedding((common, U))[vocab.idx_to_token]
        scores = [similarity_score(U, vocab, pairs)[0]
                  for pairs in judged.values()]
        spread[name, label] = pair.mean().item(), pair.std().item(), *scores
        print(f"{name:8}{label:10}" + "".join(
            f"{x:8.3f}" for x in spread[name, label]))

# %%
for name in "own", "MiniLM":
    assert abs(spread[name, "without 0"][0]) < 0.02
U = without_top(own[common], 3)
top = torch.linalg.svd(own[common] - own[common].mean(dim=0),
                       full_matrices=False).Vh[:3]
assert (U @ top.mT).abs().max() < 1e-3 and U.mean(dim=0).abs().max() < 1e-4
if full_run:
    assert spread["own", "as it is"][0] > 0.1 > 0.03 > spread[
        "MiniLM", "as it is"][0]
    for name in "own", "MiniLM":
        values = np.array([row[2:] for key, row in spread.items()
                           if key[0] == name])
        assert np.ptp(values, axis=0).max() < 0.05

# %% [markdown]
# Our own vectors share a direction: random pairs have a mean cosine above 0.1, and centering takes it away; MiniLM's table is nearly centered as it is.
# The correlations move by less than 0.05, up or down.
# The paper reports gains for vectors trained on far more text; here the changes do not all go the same way.
# Whether one of these small changes is more than noise, the standard error $1/\sqrt{n-1}$ of a single correlation cannot tell: both versions of a table meet the same pairs and judgments, so much of the error is common to both and cancels in the difference.
# That takes a paired comparison, such as drawing the pairs again with replacement and looking at the difference each time.

# %% [markdown]
# ### Exercise 15.7-3
#
# How much of the work does `ivf_search` save?
# Take `num_vectors` vectors of 32 numbers and 316 cells, once from a mixture of 1000 clusters and once from a single normal distribution, and draw recall at 10 against the share of the vectors that is visited.
# For which of the two is the method good, and why?

# %% [markdown]
# #### Solution 15.7-3

# %%
generator = torch.Generator().manual_seed(0)
noise = torch.randn(num_vectors + 200, 32, generator=generator)
centers = torch.randn(1000, 32, generator=generator)
which = torch.randint(1000, (len(noise),), generator=generator)
shares = {}
for name, V in (("clusters", centers[which] + 0.5 * noise),
                ("one normal", noise)):
    V, asked = V[:-200], V[-200:]
    cells = ivf_cells(V, math.isqrt(num_vectors), steps=4)
    truth = knn(V, asked, 10)[1]
    shares[name] = []
    if name == "clusters":  # how many lie in the main cell of theirs
        members = torch.zeros(1000, len(cells[0])).index_put(
            (which[:-200], cells[1]), torch.tensor(1.0), accumulate=True)
        together = (members.amax(dim=1).sum() / len(V)).item()
    for probes in 1, 4, 16, min(64, len(cells[0]) - 1), len(cells[0]):
        _, found, visited = ivf_search(V, asked, 10, cells, probes)
        shares[name].append((visited.double().mean().item() / num_vectors,
                             recall(found, truth)))
ax = d2l.plot(*zip(*(list(zip(*rows)) for rows in shares.values())),
              labels=list(shares), xscale="log", ylabel="recall at 10",
              xlabel="share of the vectors visited")
d2l.describe(ax, """Recall at 10 against the share of vectors visited, on a
    logarithmic axis, for vectors in clusters and for vectors of one normal
    distribution. The clusters reach high recall at a smaller share.""")

# %%
print(f"{together:.2f} of the vectors in the main cell of their cluster")
for name, rows in shares.items():
    print(name, " ".join(f"{share:.3f}:{value:.3f}" for share, value in rows))
    assert rows[-1][0] == 1 and rows[-1][1] > 0.9999
    assert all(a[1] <= b[1] for a, b in zip(rows, rows[1:]))
    assert all(a[0] < b[0] for a, b in zip(rows, rows[1:]))
for a, b in zip(shares["clusters"][:3], shares["one normal"]):
    assert a[1] > b[1] + 0.05
if num_vectors >= 100_000:
    assert shares["clusters"][0][1] > 0.8 > 0.2 > shares["one normal"][0][1]
if num_vectors == 100_000:
    assert 0.85 < together < 0.96
    assert abs(shares["one normal"][3][0] - 0.2) < 0.02
    assert abs(shares["one normal"][3][1] - 0.9) < 0.02

# %% [markdown]
# With clusters, one cell in 316 has about nine in ten neighbors, because a cell boundary seldom cuts through a cluster: about nine in ten vectors lie in the main cell of their cluster.
# In a single normal distribution of 32 dimensions the neighbors of a query lie in many directions from it, nearly nine in ten across some boundary, and a recall of 0.9 takes a fifth of the vectors.
# (Comparing a query with the centroids costs another 316 products.)

# %% [markdown]
# ### Exercise 15.7-4
#
# The word embedding association test of Caliskan and others (2017) takes two sets of target words, $X$ and $Y$, and two sets of attribute words, $A$ and $B$.
# With $s(w)=\operatorname{mean}_{a\in A}\cos(w,a)-\operatorname{mean}_{b\in B}\cos(w,b)$, its effect size is the mean of $s$ over $X$ minus that over $Y$, divided by the standard deviation of $s$ over $X\cup Y$.
# Plant a bias of known size, and see what the effect size tells of it.

# %% [markdown]
# #### Solution 15.7-4

# %%
def weat(X, Y, A, B):
    """Effect size, between -2 and 2, for word vectors (n, d) each.

    The deviation is that of the population, with X and Y of equal size.
    """
    near = cosines(torch.cat((A, B)), torch.cat((X, Y)))  # (words, A and B)
    s = near[:, :len(A)].mean(dim=1) - near[:, len(A):].mean(dim=1)
    return ((s[:len(X)].mean() - s[len(X):].mean())
            / s.std(correction=0)).item()


sets = [[f"{kind}{i}" for i in range(8)] for kind in "XYAB"]


def planted_bias(bias, noise, seed=0):
    """Effect size where X leans towards A and Y towards B by `bias`."""
    known = {w: {w[0]: 1.0} for w in sets[2] + sets[3]}
    known |= {w: {"job": 1.0, "A": bias, "B": -bias} for w in sets[0]}
    known |= {w: {"job": 1.0, "A": -bias, "B": bias} for w in sets[1]}
    table = planted_embeddings(known, 100, noise, seed)
    return weat(*(table[each] for each in sets))


effects = {}
for noise in 0.05, 1.0:
    for bias in 0.0, 0.02, 0.2, -0.2:
        effects[noise, bias] = [planted_bias(bias, noise, seed)
                                for seed in range(20)]
        print(f"noise {noise:4}, bias {bias:5}: effect",
              f"{np.mean(effects[noise, bias]):5.2f} +-",
              f"{np.std(effects[noise, bias]):.2f} over 20 tables")

# %%
mean = {key: np.mean(values) for key, values in effects.items()}
assert abs(planted_bias(0.02, 0) - 2) < 1e-3  # any bias, without noise
assert mean[0.05, 0.02] > 1.9 and 1.7 < mean[1.0, 0.2] < 1.95
assert mean[0.05, -0.2] < -1.9 and mean[1.0, -0.2] < -1.7
assert 0.3 < mean[1.0, 0.02] < 0.9
assert min(effects[1.0, 0.02]) < 0 < min(effects[1.0, 0.2])
for noise in 0.05, 1.0:
    assert abs(mean[noise, 0.0]) < 0.3 < np.std(effects[noise, 0.0])
X, Y, A, B = (planted_embeddings({w: [w[0]] for w in sum(sets, [])}, 100, 1.0)
              [each] for each in sets)
assert abs(weat(X, Y, A, B) + weat(Y, X, A, B)) < 1e-4
assert abs(weat(X, Y, A, B) + weat(X, Y, B, A)) < 1e-4

# %% [markdown]
# Where the bias stands out from the noise the sign is right in every table; for a bias of 0.02 under noise 1.0 it is right on average, but single tables point the other way.
# The size is not that of the bias.
# With little noise a bias of 0.02 gives almost the same effect as one of 0.2, near the largest possible value, 2: the measure says how well $s$ separates the two sets, in units of its own deviation, not by how much.
# And without any bias single tables have effects with a deviation of about one half, for sets of eight words.
# So a value needs a test, by permuting the words of $X$ and $Y$ as its authors do, and it does not measure how much harm is done.

# %% [markdown]
# ## Sources
#
# - T. Mikolov, K. Chen, G. Corrado and J. Dean, Efficient estimation of word representations in vector space, 2013, [arXiv:1301.3781](https://arxiv.org/abs/1301.3781): the questions; they too discard the words of the question.
# - D. E. Rumelhart and A. A. Abrahamson, A model for analogical reasoning, 1973, [doi:10.1016/0010-0285(73)90023-6](https://doi.org/10.1016/0010-0285(73)90023-6): the parallelogram.
# - O. Levy and Y. Goldberg, Linguistic regularities in sparse and explicit word representations, 2014, [doi:10.3115/v1/W14-1618](https://doi.org/10.3115/v1/W14-1618): three cosines, 3CosMul.
# - T. Linzen, Issues in evaluating semantic spaces using word analogies, 2016, [arXiv:1606.07736](https://arxiv.org/abs/1606.07736): baselines.
# - A. Rogers, A. Drozd and B. Li, The (too many) problems of analogical reasoning with word vectors, 2017, [doi:10.18653/v1/S17-1017](https://doi.org/10.18653/v1/S17-1017): offsets depend on similarity.
# - M. Nissim, R. van Noord and R. van der Goot, Fair is better than sensational: man is to doctor as woman is to doctor, 2020, [doi:10.1162/coli_a_00379](https://doi.org/10.1162/coli_a_00379).
# - A. Caliskan, J. J. Bryson and A. Narayanan, Semantics derived automatically from language corpora contain human-like biases, 2017, [doi:10.1126/science.aal4230](https://doi.org/10.1126/science.aal4230): the association test.
# - J. Pennington, R. Socher and C. D. Manning, GloVe: global vectors for word representation, 2014, [doi:10.3115/v1/D14-1162](https://doi.org/10.3115/v1/D14-1162).
# - R. Carlson, J. Bauer and C. D. Manning, A new pair of GloVes, 2025, [arXiv:2507.18103](https://arxiv.org/abs/2507.18103): the tables of 2024.
# - Sentence Transformers, [paraphrase-MiniLM-L3-v2](https://huggingface.co/sentence-transformers/paraphrase-MiniLM-L3-v2): the model card.
# - F. Hill, R. Reichart and A. Korhonen, SimLex-999: evaluating semantic models with (genuine) similarity estimation, 2015, [arXiv:1408.3456](https://arxiv.org/abs/1408.3456).
# - M. Radovanović, A. Nanopoulos and M. Ivanović, Hubs in space: popular nearest neighbors in high-dimensional data, 2010, [jmlr.org](https://jmlr.org/papers/v11/radovanovic10a.html).
# - T. Low, C. Borgelt, S. Stober and A. Nürnberger, The hubness phenomenon: fact or artifact?, 2013, [doi:10.1007/978-3-642-30278-7_21](https://doi.org/10.1007/978-3-642-30278-7_21).
# - J. Mu and P. Viswanath, All-but-the-top: simple and effective postprocessing for word representations, 2018, [arXiv:1702.01417](https://arxiv.org/abs/1702.01417).
# - J. Sivic and A. Zisserman, Video Google: a text retrieval approach to object matching in videos, 2003, [doi:10.1109/ICCV.2003.1238663](https://doi.org/10.1109/ICCV.2003.1238663): inverted files of quantized image descriptors.
# - H. Jégou, M. Douze and C. Schmid, Product quantization for nearest neighbor search, 2011, [doi:10.1109/TPAMI.2010.57](https://doi.org/10.1109/TPAMI.2010.57).
# - Y. A. Malkov and D. A. Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs, 2018, [arXiv:1603.09320](https://arxiv.org/abs/1603.09320).
# - M. Douze et al., The Faiss library, 2024, [arXiv:2401.08281](https://arxiv.org/abs/2401.08281).
# - N. Muennighoff, N. Tazi, L. Magne and N. Reimers, MTEB: massive text embedding benchmark, 2023, [arXiv:2210.07316](https://arxiv.org/abs/2210.07316).
