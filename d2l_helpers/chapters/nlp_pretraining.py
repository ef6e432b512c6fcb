"""Chapter 15, Natural language processing: pretraining: what its sections teach and later ones use.

Generated from book/15-nlp-pretraining/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import heapq
import math
import torch
from torch import nn
from torch.nn import functional as F


# 15.1 Word embedding (word2vec)
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


# 15.1 Word embedding (word2vec)
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


# 15.1 Word embedding (word2vec)
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


# 15.1 Word embedding (word2vec)
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


# 15.1 Word embedding (word2vec)
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


# 15.1 Word embedding (word2vec)
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


# 15.2 Approximate training
def neg_sampling_loss(v, u_pos, u_neg):
    """The loss of negative sampling, one number for each pair.

    `v` (b, d) are center vectors, `u_pos` (b, d) those of the observed
    context words, `u_neg` (b, K, d) those of K negatives for each pair; K
    may be 0. Returns (b,), in nats: the sum over the 1 + K terms. Raises a
    ValueError for other shapes. Source: Mikolov et al. (2013b), eq. 4.
    """
    if (v.ndim != 2 or u_pos.shape != v.shape or u_neg.ndim != 3
            or (u_neg.shape[0], u_neg.shape[2]) != v.shape):
        raise ValueError(
            "v and u_pos must have the same shape (b, d) and u_neg the "
            f"shape (b, K, d); got {tuple(v.shape)}, {tuple(u_pos.shape)} "
            f"and {tuple(u_neg.shape)}.")
    positive = (u_pos * v).sum(dim=1)  # (b,)
    negative = (u_neg @ v.unsqueeze(2)).squeeze(2)  # (b, K)
    return -F.logsigmoid(positive) - F.logsigmoid(-negative).sum(dim=1)


# 15.2 Approximate training
def huffman(counts):
    """The paths of a Huffman tree: for each word [(node, sign), ...].

    `counts` holds V >= 2 nonnegative numbers. Inner nodes are numbered
    0, ..., V - 2, the root is 0, and the sign is +1 for the left child,
    which is the lighter one, -1 for the right. Equal weights merge in
    order of age. Raises a ValueError for fewer than two counts, or one
    that is negative or not finite. Source: Huffman (1952).
    """
    heap = [(float(n), i) for i, n in enumerate(counts)]
    if len(heap) < 2 or not all(0 <= n < math.inf for n, _ in heap):
        raise ValueError("a tree needs two or more counts, each finite and "
                         f"not negative; got {[n for n, _ in heap][:5]}.")
    V, parent = len(heap), {}
    heapq.heapify(heap)
    for new in range(V, 2 * V - 1):  # leaves are 0, ..., V - 1
        light, left = heapq.heappop(heap)
        heavy, right = heapq.heappop(heap)
        heapq.heappush(heap, (light + heavy, new))
        parent[left], parent[right] = (new, 1), (new, -1)
    paths = []
    for at in range(V):
        path = []
        while at in parent:  # up to the root, which was made last
            at, sign = parent[at]
            path.append((2 * V - 2 - at, sign))
        paths.append(path[::-1])
    return paths


# 15.2 Approximate training
class HierarchicalSoftmax(nn.Module):
    """Word probabilities by decisions along the paths of a Huffman tree.

    `counts` (V,) are the counts of the words, `d` the dimension of the
    vectors. `u` holds a vector for each of the V - 1 inner nodes, zero at
    first; with `sparse` its gradient stores only the rows that were used.
    Source: Mikolov et al. (2013b), eq. 3.
    """

    def __init__(self, counts, d, sparse=False):
        super().__init__()
        paths = huffman(counts)
        self.u = nn.Embedding(len(paths) - 1, d, sparse=sparse)
        nn.init.zeros_(self.u.weight)
        longest = max(len(path) for path in paths)
        padded = torch.tensor([path + [(0, 0)] * (longest - len(path))
                               for path in paths])  # (V, longest, 2)
        self.register_buffer("nodes", padded[..., 0])
        self.register_buffer("signs", padded[..., 1])

    def log_prob(self, v, w):
        """log P(w | v) in nats: v (b, d) and words w (b,) give (b,).

        Raises a ValueError for other shapes.
        """
        if v.shape != (*w.shape, self.u.embedding_dim) or w.ndim != 1:
            raise ValueError(
                f"words (b,) need vectors (b, {self.u.embedding_dim}); "
                f"got {tuple(w.shape)} and {tuple(v.shape)}.")
        signs = self.signs[w]  # (b, longest), 0 beyond the path
        u = self.u(self.nodes[w])  # (b, longest, d)
        scores = signs * (u @ v.unsqueeze(2)).squeeze(2)  # (b, longest)
        return (F.logsigmoid(scores) * signs.abs()).sum(dim=1)
