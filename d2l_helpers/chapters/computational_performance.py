"""Chapter 13, Computational performance: what its sections teach and later ones use.

Generated from book/13-computational-performance/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from d2l_helpers.chapters.linear_classification import FashionMNIST
from torch import nn


# 13.2 Asynchronous computation
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


# 13.5 Training on multiple GPUs
def small_lenet(seed=0):
    """Scores (n, 10) for images (n, 1, 28, 28); same weights, same seed."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 20, kernel_size=3), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(20, 50, kernel_size=5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 10))


def fashion_tensors(n):
    """The first n images (n, 1, 28, 28) in [0, 1] and labels (n,)."""
    data = FashionMNIST(train_size=n)
    return data.X_train, data.y_train


def max_difference(first, second):
    """Largest absolute difference between two lists of tensors."""
    return max((a - b).abs().max().item()
               for a, b in zip(first, second, strict=True))


# 13.5 Training on multiple GPUs
def broadcast_params(params):
    """Give every rank the parameters of rank 0, in place."""
    for p in params:
        dist.broadcast(p.detach(), src=0)


def allreduce_grads(params, share):
    """Replace the gradients by the sum over ranks of share * gradient."""
    grads = [p.grad for p in params]
    flat = share * torch.cat([g.flatten() for g in grads])  # (N,)
    dist.all_reduce(flat)
    parts = flat.split([g.numel() for g in grads])
    for g, part in zip(grads, parts, strict=True):
        g.copy_(part.view_as(g))
