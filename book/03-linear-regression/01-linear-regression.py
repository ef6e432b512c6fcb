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
# # 3.1 Linear regression

# %%
import time

# %% tags=["export"]
class Timer:
    """Record running times in seconds.

    `start` begins, `stop` returns the seconds since then and keeps them
    in `times`; `sum`, `avg` and `cumsum` summarize them.
    """

    def __init__(self):
        self.times = []
        self.start()

    def start(self):
        self.begin = time.perf_counter()

    def stop(self):
        self.times.append(time.perf_counter() - self.begin)
        return self.times[-1]

    def avg(self):
        return self.sum() / len(self.times)

    def sum(self):
        return sum(self.times)
