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
# # 14.1 Image augmentation
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
from contextlib import contextmanager

import torch
from torch import nn

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["export"]
def accuracy(y_hat, y):
    """Whether the largest score is the label's; scores (n, k, ...)."""
    return (y_hat.argmax(1) == y).float()


@contextmanager
def evaluating(net):
    """Evaluation mode without gradients; each module's mode comes back."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield net
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(net, tensors, score=accuracy, batch_size=250):
    """Mean over all examples of `score(net(X), *y)`, in evaluation mode.

    `tensors` are inputs and targets (X, y, ...) on the device of `net`;
    `score` gives a number for each example (or pixel), not their mean.
    """
    with evaluating(net):
        scores = [score(net(X), *y) for X, *y in
                  d2l.BatchLoader(tensors, batch_size)]
    return torch.cat(scores).mean().item()

# %% tags=["export"]
def train_ch14(net, train, test, loss, optimizer, epochs, device=None,
               batch_size=100, augment=None, score=accuracy,
               set_mode=nn.Module.train, after_step=None, seed=0):
    """Train under a one-cycle schedule: the loop of Chapter 14.

    `train` and `test` (or None) are tuples of tensors: inputs, targets.
    `loss(net(X), *y)` is a mean. The rates of the optimizer's groups are
    the peaks of the cycle, which has one step for each batch.
    `augment(X, *y, generator=g)` changes training batches only;
    `set_mode(net)` runs before each epoch, `after_step(net)` after each
    update. Returns a dict of lists, one number for each epoch: "loss" and,
    with a `score`, "train" (on the batches as they were trained on) and
    "test".
    """
    device = device or d2l.try_device()
    net.to(device)
    train = [tensor.to(device) for tensor in train]
    generator = torch.Generator().manual_seed(seed)
    loader = d2l.BatchLoader(train, batch_size, shuffle=True,
                             generator=generator)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups],
        total_steps=epochs * len(loader))
    history = {"loss": [], "train": [], "test": []}
    for _ in range(epochs):
        set_mode(net)
        losses, scores = [], []
        for X, *y in loader:
            if augment is not None:
                X, *y = augment(X, *y, generator=generator)
            y_hat = net(X)
            value = loss(y_hat, *y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            losses.append(value.detach() * len(X))
            if score is not None:
                scores.append(score(y_hat.detach(), *y))
            if after_step is not None:
                after_step(net)
        history["loss"].append(
            (torch.stack(losses).sum() / len(train[0])).item())
        if score is not None:
            history["train"].append(torch.cat(scores).mean().item())
            if test is not None:
                history["test"].append(evaluate(
                    net, [tensor.to(device) for tensor in test], score))
    return history

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %%
# check 14.1-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.1-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.1-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.1-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.1-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.1-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 14.1-C7: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 14.1-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.1-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.1-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.1-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.1-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.1-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 14.1-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 14.1-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
