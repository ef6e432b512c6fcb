"""Chapter 15, Natural language processing: pretraining: what its sections teach and later ones use.

Generated from book/15-nlp-pretraining/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import heapq
import math
import torch
from torch import nn
from torch.nn import functional as F


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
