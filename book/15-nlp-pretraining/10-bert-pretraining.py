# ---
# jupyter:
#   d2l:
#     data: [snli-dev-test]
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
# # 15.10 Pretraining BERT
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
import numpy as np

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %% tags=["export"]
def premise_split(premises, seed=0):
    """Split pairs of sentences so that no premise is in both parts.

    Parameters
    ----------
    premises : sequence of str
        The first sentence of each pair.
    seed : int
        Which sixth of the distinct premises, sorted and then permuted by
        NumPy's generator, is held out.

    Returns
    -------
    tuple of two lists of int
        Indices of the pairs for training and of those held out, both
        rising; about 5/6 and 1/6 of the pairs.

    Raises
    ------
    ValueError
        For fewer than six distinct premises.
    """
    distinct = sorted(set(premises))
    if len(distinct) < 6:
        raise ValueError(f"{len(distinct)} distinct premises; a sixth of "
                         "them is held out, so give at least 6.")
    order = np.random.default_rng(seed).permutation(len(distinct))
    held = {distinct[i] for i in order[:len(distinct) // 6]}
    rows = range(len(premises))
    return ([i for i in rows if premises[i] not in held],
            [i for i in rows if premises[i] in held])

# %%
# check 15.10-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.10-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.10-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.10-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.10-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.10-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.10-C7: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.10-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.10-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.10-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.10-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.10-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.10-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.10-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.10-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.10-5
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.10-5

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
