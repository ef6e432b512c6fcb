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
# # 13.2 Asynchronous computation
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
import matplotlib.pyplot as plt

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% tags=["export", "hide-input"]
def gantt(rows, ax=None, groups=None, xlabel="time"):
    """Draw what happened when: one bar per row, one line per lane.

    rows: (lane, start, end, label), lanes from the top in order of their
    first bar; groups: one name per row, which decides the colour and
    stands in a legend (without it, a colour per lane). Returns the axes.
    """
    rows = list(rows)
    lanes = list(dict.fromkeys(row[0] for row in rows))
    names = [row[0] for row in rows] if groups is None else list(groups)
    if len(names) != len(rows):
        raise ValueError(f"gantt got {len(names)} groups for {len(rows)} "
                         "rows; give one group per row, or none.")
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 0.9 + 0.45 * len(lanes)))
    for name in dict.fromkeys(names):
        own = [r for r, n in zip(rows, names, strict=True) if n == name]
        bars = ax.barh([lanes.index(r[0]) for r in own],
                       [r[2] - r[1] for r in own], left=[r[1] for r in own],
                       height=0.8, edgecolor="white", linewidth=0.6,
                       label=str(name))
        for bar, (lane, start, end, label) in zip(bars, own, strict=True):
            if end < start:
                raise ValueError(f"{label!r} in lane {lane!r} ends at {end}, "
                                 f"before its start at {start}.")
            red, green, blue, _ = bar.get_facecolor()
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.4
            ax.text((start + end) / 2, lanes.index(lane), str(label),
                    ha="center", va="center", fontsize=8,
                    color="white" if dark else "black")
    ax.set(xlabel=xlabel, ylim=(len(lanes) - 0.5, -0.5))
    ax.set_yticks(range(len(lanes)), [str(lane) for lane in lanes])
    ax.grid(visible=False, axis="y")
    if groups is not None:
        ax.legend(ncols=len(set(names)), loc="lower left",
                  bbox_to_anchor=(0, 1))
    return ax

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %%
# check 13.2-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 13.2-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 13.2-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 13.2-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 13.2-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 13.2-C6: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 13.2-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 13.2-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 13.2-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 13.2-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 13.2-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 13.2-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 13.2-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 13.2-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
