# ---
# jupyter:
#   d2l:
#     data: [brown, masc-tagged, wikitext-2, word-similarity]
#     profiles:
#       gpu: {}
#       smoke:
#         step: 20
#         num_seeds: 1
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
# # 15.4 Pretraining word2vec
#
# The model is that of Section 15.1, the loss that of Section 15.2, the data those of Section 15.3; what is left is a training loop of a dozen lines.
# The harder question comes after it.
# A list of neighbours that looks sensible proves little, so we fix a measure before we train, and give it to vectors that cannot know anything as well.
#
# **You will**
#
# - train skip-gram with negative sampling on 1.7 million words;
# - score word vectors by human judgements, with a standard error, and beside controls: an untrained table, and a corpus whose words have been shuffled;
# - tell a similarity that text has taught from one that the method makes by itself.
#
# **Cost**: less than a minute on a CPU; a GPU is used if there is one. Downloads of 7 MB, once.

# %%
import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.nlp_pretraining import (
    WORD_CORPORA, SkipGramData, dynamic_pairs, neg_sampling_loss,
    read_corpus)
from d2l_helpers.chapters.optimization import train_scheduled

d2l.use_style()

# %% tags=["parameters"]
step = 1  # 20: every twentieth sentence only
num_seeds = 3
seed = 0

# %% [markdown]
# ## The measure first
#
# People can say how close two words are, on a scale from 0 to 10.
# %% tags=["export"]
def judged_pairs(path):
    """Pairs of words with the similarity that people gave them.

    Parameters
    ----------
    path : pathlib.Path
        A file of `fetch("word-similarity")`: two words and a number, separated
        by tabs; lines that begin with `#` are comments.

    Returns
    -------
    list of (str, str, float)
        In the order of the file, in lower case.

    Raises
    ------
    ValueError
        For a line of another form.
    """
    pairs = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            first, second, score = line.split("\t")
            pairs.append((first.lower(), second.lower(), float(score)))
        except ValueError:
            raise ValueError(
                f"Line {number} of {path.name}, {line!r}, is not two words "
                "and a number separated by tabs.") from None
    return pairs

# %% tags=["export"]
def similarity_score(W, vocab, pairs):
    """Rank correlation of the cosines of word vectors with human judgements.

    Parameters
    ----------
    W : Tensor of shape (V, d)
        A vector for each entry of the vocabulary; a zero vector has cosine 0
        with every other.
    vocab : Vocab
        With the index of a word; pairs with a word it does not hold are left
        out.
    pairs : list of (str, str, float)
        Of `judged_pairs`.

    Returns
    -------
    rho : float
        Spearman's rank correlation over the covered pairs (average ranks for
        ties); its standard error is about $1/\\sqrt{n-1}$ if the two rankings
        are independent.
    covered : int
        The number n of covered pairs.

    Raises
    ------
    ValueError
        If W has not one row for each word, or fewer than three pairs are
        covered.
    """
    if len(W) != len(vocab):
        raise ValueError(f"{len(W)} vectors for {len(vocab)} words; give one "
                         "row for each entry of the vocabulary.")
    known = [(vocab[a], vocab[b], score) for a, b, score in pairs
             if a in vocab.token_to_idx and b in vocab.token_to_idx]
    if len(known) < 3:
        raise ValueError(f"Only {len(known)} of {len(pairs)} pairs are in the "
                         "vocabulary; a rank correlation needs at least 3.")
    first, second, scores = zip(*known, strict=True)
    W = torch.nn.functional.normalize(W.detach().float(), dim=1)
    cosines = (W[list(first)] * W[list(second)]).sum(dim=1)
    return float(spearmanr(cosines.cpu(), scores).statistic), len(known)

# %% tags=["export"]
def shuffled(ids, rng=None):
    """The words of a corpus in random order: same counts, no context.

    `ids` (T,) are indices of words, `rng` a generator of the CPU. Returns
    a permuted copy; with the old `sentence_ids`, each sentence keeps its
    length and gets other words.
    """
    order = torch.randperm(len(ids), generator=rng)
    return ids[order.to(ids.device)]

# %% tags=["export"]
def skip_gram(centers, contexts_negatives, embed_v, embed_u):
    """Scores of words for their centers, (b, 1, L).

    `centers` (b, 1) and `contexts_negatives` (b, L) are indices, as in the
    batches of Section 15.3; the two layers map them to vectors of d
    numbers. Source: Mikolov et al. (2013).
    """
    v = embed_v(centers)  # (b, 1, d)
    u = embed_u(contexts_negatives)  # (b, L, d)
    return torch.bmm(v, u.mT)

# %% tags=["export"]
class SkipGram(nn.Module):
    """Two vectors of d numbers for each word; call it with a batch.

    Center vectors start uniform in (-0.5 / d, 0.5 / d), drawn with
    `generator`, context vectors at 0, as in the program of Mikolov et al.
    (2013). With `sparse`, gradients store only the rows that were used.
    Raises ValueError unless both sizes are at least 1.
    """

    def __init__(self, vocab_size, d, sparse=False, generator=None):
        super().__init__()
        if vocab_size < 1 or d < 1:
            raise ValueError(f"{vocab_size} words and d = {d}: both must be "
                             "at least 1.")
        self.embed_v = nn.Embedding(vocab_size, d, sparse=sparse)
        self.embed_u = nn.Embedding(vocab_size, d, sparse=sparse)
        nn.init.uniform_(self.embed_v.weight, -0.5 / d, 0.5 / d, generator)
        nn.init.zeros_(self.embed_u.weight)

    def forward(self, centers, contexts_negatives):
        """Scores (b, 1, L) for indices (b, 1) and (b, L)."""
        u = self.embed_u(contexts_negatives)  # (b, L, d)
        return (self.embed_v(centers) * u).sum(dim=2)[:, None]

# %% tags=["export"]
class SigmoidBCELoss(nn.Module):
    """Binary cross-entropy in nats, the mean over what is not masked.

    Call it with scores (b, L), labels (b, L) of 0 and 1 and optional masks
    (b, L), 0 where an entry does not count; each row (b,) is divided by
    the number of its entries that do. Raises ValueError for other shapes.
    """

    def forward(self, scores, labels, masks=None):
        masks = torch.ones_like(scores) if masks is None else masks
        if not scores.shape == labels.shape == masks.shape:
            raise ValueError(
                f"scores {tuple(scores.shape)}, labels {tuple(labels.shape)}"
                f" and masks {tuple(masks.shape)} must have one shape; remove"
                " the middle axis of skip_gram's scores by squeeze(1).")
        each = F.binary_cross_entropy_with_logits(
            scores, labels, weight=masks, reduction="none")
        return each.sum(dim=-1) / masks.sum(dim=-1)

# %% tags=["export"]
def train_skipgram(data, d=64, epochs=1, lr=0.02, sparse=False, seed=0,
                   device=None):
    """Train a SkipGram by Adam at a rate that falls linearly to 0.

    Parameters
    ----------
    data : SkipGramData
        Serves the batches, new ones in each epoch.
    d, epochs : int
        Numbers in a vector, and passes over the data.
    lr : float
        The rate of the first step.
    sparse : bool
        Gradients of the rows in the batch alone, and SparseAdam.
    seed : int
        Of the start; the order of the data is that of `data`.
    device : torch.device, optional
        Where the tables lie; by default what `try_device` chooses.

    Returns
    -------
    net : SkipGram
    losses : list of float
        In nats for each pair with its K negatives, one for each step.

    Raises
    ------
    ValueError
        If `epochs` is not at least 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; train for at least 1.")
    device = d2l.try_device(quiet=True) if device is None else device
    net = SkipGram(len(data.corpus.vocab), d, sparse,
                   torch.Generator().manual_seed(seed)).to(device)
    kind = torch.optim.SparseAdam if sparse else torch.optim.Adam
    bce, loader = SigmoidBCELoss(), data.train_dataloader()
    steps = epochs * len(loader)

    def loss(net, batch):
        centers, words, masks, labels = d2l.to_device(batch, device)
        scores = net(centers, words).squeeze(1)  # (b, 1 + K)
        return labels.shape[1] * bce(scores, labels, masks).mean()

    _, losses = train_scheduled(
        net, loss, lambda: loader, kind(net.parameters(), lr),
        lambda step: lr * max(1 - step / steps, 1e-3), epochs)
    return net, losses

# %% tags=["export"]
def nearest(W, i, k=10):
    """The k rows of W (V, d) with the largest cosine to row i, without i.

    Returns their indices (k,) and cosines (k,), largest first. A zero row
    has cosine 0 with all. Raises ValueError unless there are k others.
    """
    if not 1 <= k < len(W):
        raise ValueError(f"k is {k}; {len(W)} rows have 1 to {len(W) - 1} "
                         "neighbours.")
    W = F.normalize(W.detach(), dim=1)
    cosines = W @ W[i]  # (V,)
    cosines[i] = -torch.inf
    best = cosines.topk(k)
    return best.indices, best.values

# %%
# check 15.4-C1: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
