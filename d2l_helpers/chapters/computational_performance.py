"""Chapter 13, Computational performance: what its sections teach and later ones use.

Generated from book/13-computational-performance/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import math
import matplotlib.pyplot as plt
import os
import torch
import torch.distributed as dist
from collections.abc import Hashable
from d2l_helpers.chapters.builders_guide import apply_init
from d2l_helpers.chapters.builders_guide import load_checkpoint
from d2l_helpers.chapters.builders_guide import save_checkpoint
from d2l_helpers.chapters.linear_classification import FashionMNIST
from d2l_helpers.chapters.modern_cnns import ResNet18
from d2l_helpers.chapters.modern_cnns import conv_norm
from d2l_helpers.chapters.modern_cnns import scaled
from dataclasses import dataclass
from graphlib import TopologicalSorter
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader
from torch.utils.data import DistributedSampler


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


# 13.3 Automatic parallelism
@dataclass(frozen=True)
class Task:
    """A piece of work that may begin when its predecessors are done.

    `name` is any hashable value, `cost` a time, and `deps` a tuple of the
    names of the tasks to wait for. If `worker` is given, only the worker
    of that name may run the task. Among tasks that could begin at the
    same time, one with a higher `priority` goes first.
    """

    name: Hashable
    cost: float = 1
    deps: tuple = ()
    worker: Hashable = None
    priority: float = 0


# 13.3 Automatic parallelism
def task_table(tasks):
    """Name -> task; raises ValueError for a graph that makes no sense."""
    table = {task.name: task for task in tasks}
    if len(table) < len(tasks) or not tasks:
        raise ValueError("there is no task, or two have the same name")
    for task in tasks:
        if task.cost < 0:
            raise ValueError(f"{task.name!r} has the cost {task.cost}")
        for name in task.deps:
            if name not in table:
                raise ValueError(f"{task.name!r} waits for {name!r}, which "
                                 "is no task")
    return table


# 13.3 Automatic parallelism
def critical_path(tasks):
    """Length of a longest path through the graph, and its names in order.

    Raises ValueError if tasks wait for each other in a cycle.
    """
    table, end, before = task_table(tasks), {}, {}
    order = TopologicalSorter({task.name: task.deps for task in tasks})
    for name in order.static_order():
        before[name] = max(table[name].deps, key=end.get, default=None)
        end[name] = end.get(before[name], 0) + table[name].cost
    path = [max(end, key=end.get)]
    while before[path[0]] is not None:
        path.insert(0, before[path[0]])
    return end[path[-1]], path


# 13.3 Automatic parallelism
def list_schedule(tasks, p):
    """Run a graph greedily; rows (worker, start, end, name) by start.

    `p` is a number of workers, called 0 to p - 1, or a list of names. At
    each moment the ready tasks are handed out, by priority and then in
    the order of the list, each to its own worker or to the first that is
    idle. So no worker is ever idle beside a ready task that it may run.
    Integer costs make the times exact. Raises ValueError for a cycle and
    for a task whose worker does not exist.
    """
    table = task_table(tasks)
    workers = list(range(p)) if isinstance(p, int) else list(p)
    for task in tasks:
        if not workers or task.worker not in (None, *workers):
            raise ValueError(f"no worker may run {task.name!r}")
    rank = {task.name: (-task.priority, i) for i, task in enumerate(tasks)}
    graph = TopologicalSorter({task.name: task.deps for task in tasks})
    graph.prepare()
    now, waiting, busy, rows = 0, [], {}, []
    while graph.is_active():
        ready = sorted([*waiting, *graph.get_ready()], key=rank.get)
        waiting = []
        for name in ready:
            able = [w for w in workers if w not in busy
                    and table[name].worker in (None, w)]
            if able:
                busy[able[0]] = name, now + table[name].cost
                rows.append((able[0], now, now + table[name].cost, name))
            else:
                waiting.append(name)
        now = min(end for _, end in busy.values())
        for worker in [w for w in workers if w in busy]:
            if busy[worker][1] == now:
                graph.done(busy.pop(worker)[0])
    return rows


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


# 13.6 Concise implementation: DistributedDataParallel and sharding
def join_launch(device="auto"):
    """Join the processes of this launch; returns this one's device.

    "auto" takes GPUs where each process of the machine can have its own.
    Without a launch there is nothing to join.
    """
    local, count = (int(os.environ.get(name, default)) for name, default in
                    (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)))
    if device == "auto":
        device = "cuda" if torch.cuda.device_count() >= count else "cpu"
    if device == "cuda":
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    if "RANK" in os.environ:  # torchrun has set it
        dist.init_process_group("nccl" if "cuda" in device else "gloo")
    return torch.device(device)


def ranks():
    """Own rank and the number of ranks: (0, 1) without a launch."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


# 13.6 Concise implementation: DistributedDataParallel and sharding
def train_ddp(net, data, loss, optimizer, epochs, batch_size, seed=0,
              amp=False, path=None, after_step=None):
    """Train on all ranks of a launch, or in one process without one.

    `net` lies on this rank's device; `optimizer(parameters)` makes the
    optimizer, `loss(scores, y)` is a mean. `batch_size` counts the rows
    of all ranks together. With a `path`, a checkpoint is written after
    each epoch, and a run that has one goes on from it. Returns the mean
    loss of each epoch, over all rows.
    """
    rank, world = ranks()
    if batch_size % world:
        raise ValueError(f"a batch of {batch_size} has no equal shares for "
                         f"{world} ranks.")
    device = next(net.parameters()).device
    model = DDP(net) if world > 1 else net  # 1: averages gradients
    opt = optimizer(net.parameters())
    torch.manual_seed(seed + rank)  # 2: own random numbers
    sampler = DistributedSampler(data, world, rank, seed=seed)  # 3: own rows
    loader = DataLoader(data, batch_size // world, sampler=sampler)
    losses = resume_run(path, net, opt)
    for epoch in range(len(losses), epochs):
        sampler.set_epoch(epoch)  # a new order
        total = torch.zeros(2, dtype=torch.float64, device=device)
        for step, (X, y) in enumerate(loader):
            X, y = X.to(device), y.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                value = loss(model(X), y)
            opt.zero_grad()
            value.backward()
            opt.step()
            total[0] += value.detach() * len(y)  # sum of losses
            total[1] += len(y)  # rows
            if after_step:
                after_step(epoch, step)
        if world > 1:
            dist.all_reduce(total)  # 4: metrics of all rows
        losses.append((total[0] / total[1]).item())
        save_run(path, net, opt, losses)  # 5: written once
    return losses


# 13.6 Concise implementation: DistributedDataParallel and sharding
def save_run(path, net, opt, losses):
    """Write a checkpoint, on rank 0, with the generators of all ranks."""
    if path is None:
        return
    rank, world = ranks()
    device = next(net.parameters()).device
    own = [torch.get_rng_state()]
    if device.type == "cuda":
        own.append(torch.cuda.get_rng_state(device))
    states = [own]
    if world > 1:
        states = [None] * world
        dist.all_gather_object(states, own)
    if rank == 0:
        save_checkpoint(path, net, opt, len(losses), losses=losses,
                        states=states)
    if world > 1:
        dist.barrier()


def resume_run(path, net, opt):
    """Restore a run; returns its losses, or [] where there is no file.

    On another number of ranks, generators start anew.
    """
    if path is None or not os.path.exists(path):
        return []
    rank, world = ranks()
    device = next(net.parameters()).device
    seed = torch.initial_seed()
    saved = load_checkpoint(path, net, opt, map_location=device)
    torch.manual_seed(seed + 1000 * len(saved["losses"]))
    if len(saved["states"]) == world:
        for set_state, state in zip(
                (torch.set_rng_state, torch.cuda.set_rng_state),
                saved["states"][rank]):
            set_state(state.cpu())
    return saved["losses"]


# 13.6 Concise implementation: DistributedDataParallel and sharding
def group_norm(net, groups=8):
    """Replace every batch normalization in `net` by groups of channels."""
    for name, child in net.named_children():
        if isinstance(child, nn.BatchNorm2d):
            c = child.num_features
            setattr(net, name, nn.GroupNorm(math.gcd(groups, c), c))
        else:
            group_norm(child, groups)
    return net


def resnet18(num_classes=10, in_channels=1, width=1.0, norm="batch"):
    """ResNet-18 for small images: scores (n, num_classes).

    Images are (n, in_channels, h, w); `norm` is "batch" or "group".
    """
    net = ResNet18(num_classes=num_classes, width=width, reference=True).net
    net[0] = nn.Sequential(*conv_norm(scaled(64, width), 3, bias=False),
                           nn.ReLU())
    apply_init(net, torch.zeros(1, in_channels, 32, 32))
    return group_norm(net) if norm == "group" else net


# 13.6 Concise implementation: DistributedDataParallel and sharding
def bucket_plan(sizes, cap, first=None):
    """Buckets in the order of their exchange: lists of parameter numbers.

    `sizes` are bytes, in the order of the parameters; a bucket is closed
    once it holds `cap` bytes, the first one `first`.
    """
    plan, filled, limit = [[]], 0, cap if first is None else first
    for i in reversed(range(len(sizes))):
        if filled >= limit:
            plan.append([])
            filled, limit = 0, cap
        plan[-1].append(i)
        filled += sizes[i]
    return plan


# 13.6 Concise implementation: DistributedDataParallel and sharding
def zero_memory(N, k, stage):
    """Bytes on each of k ranks: {"parameters", "gradients", "Adam"}.

    For N float32 parameters with Adam; stage 0 shards nothing, 1 its
    moments, 2 gradients too, 3 also parameters.
    """
    return {"parameters": 4 * N / (k if stage > 2 else 1),
            "gradients": 4 * N / (k if stage > 1 else 1),
            "Adam": 8 * N / (k if stage > 0 else 1)}
