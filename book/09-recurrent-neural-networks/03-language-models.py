# ---
# jupyter:
#   d2l:
#     data: [time-machine, austen]
#     profiles:
#       gpu:
#         num_gpus: 1
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
# # 9.3 Language models

# %%
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.recurrent_neural_networks import (
    TextData, read_text)

# %% tags=["parameters"]
num_gpus = 0  # 1: use an accelerator, if there is one

# %% tags=["export"]
def perplexity(log_probs):
    """exp of minus the mean of the log-probabilities, any shape; a float."""
    return torch.exp(-torch.as_tensor(log_probs).double().mean()).item()

# %% tags=["export"]
class NgramLM:
    """Counts of up to `order` neighbours, each order smoothed by the lower.

    `vocab_size` is the number of tokens m, `eps` the weight of the lower
    order in counts: the model of order k adds eps times the probability of
    order k - 1 to each count; order 0 is uniform, 1/m.
    """

    def __init__(self, order, vocab_size, eps):
        self.order, self.vocab_size, self.eps = order, vocab_size, eps

    def codes(self, tokens, k):
        """One integer for each run of k tokens: (T - k + 1,)."""
        runs = tokens.unfold(0, k, 1)
        return runs @ self.vocab_size ** torch.arange(k - 1, -1, -1)

    def fit(self, tokens):
        """Count the runs of a sequence of indices (T,); returns self.

        A run counts as a context if a token follows it.
        """
        self.counts, self.contexts = [], []
        for k in range(1, self.order + 1):
            codes = self.codes(tokens, k)
            self.counts.append(codes.unique(return_counts=True))
            self.contexts.append(
                (codes // self.vocab_size).unique(return_counts=True))
        return self

    def log_probs(self, tokens):
        """log P of tokens order - 1, ..., T - 1 given those before, in
        float64; the first tokens, without a full context, have none."""
        first = self.order - 1
        p = torch.full((len(tokens) - first,), 1 / self.vocab_size,
                       dtype=torch.float64)
        for k in range(1, self.order + 1):
            codes = self.codes(tokens, k)[first - k + 1:]
            n = look_up(self.counts[k - 1], codes)
            total = look_up(self.contexts[k - 1], codes // self.vocab_size)
            p = (n + self.eps * p) / (total + self.eps)
        return p.log()

    def prob(self, context, token):
        """P(token | context): two lists or numbers of indices.

        Of the context the last order - 1 tokens are used.
        """
        run = torch.tensor([*context, token])[-self.order:]
        short = len(run) < self.order
        model = self if not short else self.lower(len(run))
        return model.log_probs(run).exp()[-1].item()

    def lower(self, order):
        """The model of a lower order in this one."""
        model = NgramLM(order, self.vocab_size, self.eps)
        model.counts, model.contexts = self.counts, self.contexts
        return model

    def perplexity(self, tokens):
        return perplexity(self.log_probs(tokens))


def look_up(table, codes):
    """Counts of `codes` in a table of (sorted codes, counts), else 0."""
    known, counts = table
    place = torch.searchsorted(known, codes).clamp(max=len(known) - 1)
    return torch.where(known[place] == codes, counts[place], 0)

# %% tags=["export"]
class TimeMachine(TextData):
    """Windows of characters, and the same windows one character later.

    `X` and `Y` (num_windows, num_steps) are views of the corpus: window i
    begins at character i. Of the windows from `start` on the first
    `num_train` are for training, the next `num_val` for validation. `name`
    may be another text.
    """

    def __init__(self, batch_size, num_steps=32, num_train=10000,
                 num_val=5000, start=0, name="time-machine",
                 generator=None):
        super().__init__(name)
        self.save_hyperparameters()
        self.corpus, self.vocab = self.build(read_text(name))
        need = start + num_train + num_val
        self.X = self.corpus[:-1].unfold(0, num_steps, 1)
        self.Y = self.corpus[1:].unfold(0, num_steps, 1)
        if need > len(self.X):
            raise ValueError(f"{need} windows wanted, but the text has "
                             f"{len(self.X)}; ask for fewer.")

    def get_dataloader(self, train):
        first = self.start if train else self.start + self.num_train
        rows = slice(first, first + (self.num_train if train
                                     else self.num_val))
        return self.get_tensorloader((self.X, self.Y), train, rows)
