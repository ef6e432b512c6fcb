# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke: {}
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
# # 15.5 Word embedding with global vectors (GloVe)
#
# TODO: the question, in two or three sentences.
#
# **You will**
#
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
#
# **Cost**: TODO: time and memory on a CPU, downloads, use of a GPU.

# %%
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %% tags=["export"]
def cooccurrence(ids, sentence_ids, m, weighting="flat", num_words=None):
    """How often each word stands in the window of each other one.

    Parameters
    ----------
    ids, sentence_ids : integer tensors of shape (T,)
        Words and the sentences that they belong to, as in `Corpus`; sentence
        numbers never fall, and no pair joins two sentences.
    m : int
        The fixed radius of the window.
    weighting : "flat" or "harmonic"
        What a pair at distance d counts: 1, or 1 / d.
    num_words : int, optional
        V; one more than the largest index if it is not given.

    Returns
    -------
    scipy.sparse.csr_array of shape (V, V), float64
        Symmetric; row and column sums are equal.

    Raises
    ------
    ValueError
        For another weighting, m < 1, tensors of other shapes, sentence
        numbers that fall, or an index outside 0, ..., V - 1.

    Source: Pennington et al. (2014) for the weights 1 / d.
    """
    if weighting not in ("flat", "harmonic") or m < 1:
        raise ValueError(f"weighting {weighting!r} and m = {m}; choose 'flat'"
                         " or 'harmonic', and m >= 1.")
    if ids.ndim != 1 or ids.shape != sentence_ids.shape or not len(ids):
        raise ValueError(f"ids have shape {tuple(ids.shape)}, sentence_ids "
                         f"{tuple(sentence_ids.shape)}; give (T,), T >= 1.")
    V = int(ids.max()) + 1 if num_words is None else num_words
    if ids.min() < 0 or ids.max() >= V or (sentence_ids.diff() < 0).any():
        raise ValueError(f"indices must be from 0 to {V - 1} and sentence_ids"
                         " must not fall; keep the order of the corpus.")
    ids, sentence_ids = ids.numpy(), sentence_ids.numpy()
    right = sparse.csr_array((V, V))  # contexts to the right of the center
    for d in range(1, min(m, len(ids) - 1) + 1):
        same = sentence_ids[d:] == sentence_ids[:-d]  # (T - d,)
        weight = np.full(same.sum(), 1 if weighting == "flat" else 1 / d)
        right += sparse.coo_array(
            (weight, (ids[:-d][same], ids[d:][same])), shape=(V, V)).tocsr()
    return (right + right.T).tocsr()

# %% tags=["export"]
def glove_weight(x, x_max=100.0, alpha=0.75):
    """The weight (x / x_max) ** alpha, at most 1, of counts of any shape.

    Source: Pennington et al. (2014), eq. 9.
    """
    return (x / x_max).clamp(max=1) ** alpha


def glove_loss(U, V, b, c, i, j, x, x_max=100.0, alpha=0.75):
    """Weighted squared errors of predicted log-counts, one for each entry.

    `V` and `U` (words, d) hold center and context vectors, `b` and `c`
    (words,) their biases; `i` and `j` (n,) are centers and contexts, and
    `x` (n,) their counts, all above 0. Returns (n,). Raises ValueError if
    the shapes do not fit. Source: Pennington et al. (2014), eq. 8.
    """
    if U.shape != V.shape or not b.shape == c.shape == V.shape[:1] or (
            not i.shape == j.shape == x.shape):
        raise ValueError(
            f"U {tuple(U.shape)} and V {tuple(V.shape)} need equal shapes "
            f"(words, d), b {tuple(b.shape)} and c {tuple(c.shape)} (words,)"
            f", i {tuple(i.shape)}, j {tuple(j.shape)} and x "
            f"{tuple(x.shape)} equal ones.")
    score = (U[j] * V[i]).sum(dim=-1) + b[i] + c[j]
    return glove_weight(x, x_max, alpha) * (score - x.log()) ** 2

# %% tags=["export"]
class Glove(NamedTuple):
    """Vectors U (contexts), V (centers), both (words, d), biases, losses.

    The biases `b` of centers and `c` of contexts are (words,), `losses` a
    list of the mean weighted loss of an entry during each epoch.
    """

    U: torch.Tensor
    V: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor
    losses: list


def train_glove(X, d, epochs, lr=0.1, batch_size=16384, seed=0,
                device=None, x_max=100.0, alpha=0.75):
    """Fit the logarithms of the counts above 0 with Adagrad: a `Glove`.

    X is a sparse matrix (words, words) of counts, such as `cooccurrence`
    gives; d the dimension; an epoch visits each entry once, in an order
    that `seed` draws, as it does the start, uniform in (-1/2, 1/2) / d.
    The result is detached and lies on `device`, the CPU unless given.
    Raises ValueError if X is not square, holds no entry, or one that is
    not positive. Source: Pennington et al. (2014).
    """
    X = sparse.coo_array(X)
    if X.shape[0] != X.shape[1] or not X.nnz or not X.data.min() > 0:
        raise ValueError(f"X of shape {X.shape} stores {X.nnz} entries; a "
                         "square matrix with positive ones is needed (call "
                         "eliminate_zeros to drop stored zeros).")
    generator = torch.Generator().manual_seed(seed)
    i, j, x = (torch.from_numpy(part).to(device, dtype) for part, dtype in
               ((X.row, torch.int64), (X.col, torch.int64),
                (X.data, torch.float32)))
    start = (torch.rand(2, X.shape[0], d + 1,
                        generator=generator) - 0.5) / d
    start = start.to(device)
    params = [part.clone().requires_grad_() for part in
              (start[0, :, :d], start[1, :, :d], start[1, :, d],
               start[0, :, d])]  # U, V, b, c
    optimizer = torch.optim.Adagrad(params, lr)
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        total = torch.zeros((), device=x.device)
        for part in order.split(batch_size):
            loss = glove_loss(*params, i[part], j[part], x[part], x_max,
                              alpha)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            total += loss.detach().sum()
        losses.append(total.item() / len(x))
    return Glove(*(part.detach() for part in params), losses)

# %% tags=["export"]
def ppmi(X, shift=0.0, power=1.0):
    """Positive pointwise mutual information of counts, shifted.

    Parameters
    ----------
    X : sparse matrix of shape (n, m)
        Counts of centers (rows) and contexts (columns), not negative.
    shift : float
        In nats, subtracted before negative values become 0; log k for the
        shift of k negatives.
    power : float
        The exponent of the law of the contexts, 0.75 for that of word2vec's
        noise.

    Returns
    -------
    scipy.sparse.csr_array of shape (n, m)
        Its positive entries in nats; 0 for all other pairs.

    Raises
    ------
    ValueError
        If a count is negative, or all are 0.

    Source: Levy and Goldberg (2014); Levy, Goldberg and Dagan (2015).
    """
    X = sparse.coo_array(X)
    if not X.nnz or X.data.min() < 0 or not X.sum() > 0:
        raise ValueError(f"X of shape {X.shape} must hold counts, none "
                         "negative and not all 0.")
    rows, columns = X.sum(axis=1), X.sum(axis=0) ** power
    used = X.data > 0
    i, j, x = X.row[used], X.col[used], X.data[used]
    value = np.log(x * columns.sum() / (rows[i] * columns[j])) - shift
    keep = value > 0
    return sparse.csr_array((value[keep], (i[keep], j[keep])), shape=X.shape)


def svd_vectors(M, d):
    """Vectors W (n, d) and C (m, d) with W @ C.mT near M, float32.

    M (n, m) is sparse, such as `ppmi` gives it. With the d largest singular
    values S, W is U S ** 0.5 and C the same of the right vectors, so
    W @ C.mT is the best approximation of rank d. Columns come in falling
    order of S, and the largest entry of each column of U is positive, so
    the result is always the same. Raises ValueError unless 0 < d < min(n,
    m). Source: Levy and Goldberg (2014) for the root.
    """
    if not 0 < d < min(M.shape):
        raise ValueError(f"d is {d}; a matrix of shape {M.shape} needs one "
                         f"from 1 to {min(M.shape) - 1}.")
    U, S, Vt = svds(M.astype(np.float64), k=d, v0=np.ones(min(M.shape)))
    order = np.argsort(-S, kind="stable")
    U, S, Vt = U[:, order], S[order], Vt[order]
    sign = np.sign(U[np.abs(U).argmax(axis=0), np.arange(d)])
    scale = sign * np.sqrt(S)
    return (torch.from_numpy(U * scale).float(),
            torch.from_numpy(Vt.T * scale).float())

# %%
# check 15.5-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.5-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.5-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.5-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.5-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.5-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.5-C7: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.5-C8: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.5-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.5-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.5-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.5-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.5-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.5-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.5-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.5-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
