# ---
# jupyter:
#   d2l:
#     data: [fra-eng]
#     profiles:
#       gpu:
#         num_gpus: 1
#       smoke:
#         max_epochs: 1
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
# # 10.8 Beam search

# %%
import math

import torch

import d2l_helpers as d2l

# %% tags=["parameters"]
max_epochs = 5
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
def beam_search(step, state, bos, eos, beam_size, max_len, alpha=0.75,
                reorder=None):
    """Sequences of high probability, best first: a list (tokens, score).

    `step(tokens, state)` takes the last tokens (b,) of b prefixes and a
    state and returns log-probabilities (b, vocab_size) and the next state;
    `reorder(state, parents)` keeps the rows `parents` (b,) of a state, by
    default of a tensor's first dimension, or of each in a tuple. A
    candidate ends with `eos` or has `max_len` tokens; its score is the sum
    of its log-probabilities over its length to the power `alpha`. `tokens`
    is a list without `bos`.
    """
    reorder = reorder or keep_rows
    tokens = torch.tensor([bos])
    total, prefixes, done = torch.zeros(1), [[]], []
    while prefixes and len(prefixes[0]) < max_len:
        log_probs, state = step(tokens, state)
        scores = total[:, None] + log_probs.cpu()  # (b, vocab_size)
        best, index = scores.flatten().topk(min(beam_size, scores.numel()))
        parents, chosen, rows = index // scores.shape[1], [], []
        for i, (score, token) in enumerate(zip(
                best.tolist(), (index % scores.shape[1]).tolist())):
            if score == -math.inf:
                continue
            prefix = prefixes[parents[i]] + [token]
            if token == eos or len(prefix) == max_len:
                done.append((prefix, score / len(prefix)**alpha))
            else:
                chosen.append(prefix)
                rows.append(i)
        prefixes, total = chosen, best[rows]
        tokens = index[rows] % scores.shape[1]
        state = reorder(state, parents[rows])
    return sorted(done, key=lambda pair: -pair[1])


def keep_rows(state, parents):
    """Rows `parents` of a tensor, or of each tensor in a tuple or list."""
    if isinstance(state, torch.Tensor):
        return state[parents.to(state.device)]
    if isinstance(state, (tuple, list)):
        return type(state)(keep_rows(part, parents) for part in state)
    return state
