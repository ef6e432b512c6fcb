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
# # 16.7 Natural language inference: fine-tuning BERT
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
import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %%
# check 16.7-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C7: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C8: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 16.7-C9: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 16.7-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.7-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.7-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.7-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.7-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.7-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.7-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.7-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 16.7-5
#
# TODO: the task.

# %% [markdown]
# #### Solution 16.7-5

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
