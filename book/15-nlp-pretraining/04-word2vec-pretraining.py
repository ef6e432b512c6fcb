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
# # 15.4 Pretraining word2vec
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
import torch
from scipy.stats import spearmanr

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

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


# %%
# check 15.4-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.4-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.4-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.4-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.4-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.4-C6: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.4-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.4-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.4-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.4-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.4-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.4-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.4-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.4-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
