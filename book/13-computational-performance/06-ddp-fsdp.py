# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     limits:
#       cpu:
#         memory_mb: 2304
#       smoke:
#         cell_seconds: 120
#         memory_mb: 2304
#         seconds: 180
#     profiles:
#       gpu: {}
#       smoke:
#         examples: 64
#         width: 0.0625
#         epochs: 1
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
# # 13.6 Concise implementation: DistributedDataParallel and sharding
#
# [Section 13.5](05-data-parallel-scratch.ipynb) wrote data-parallel training by hand: equal parameters everywhere, a share of each batch for everyone, one all-reduce of the gradients.
# PyTorch's `DistributedDataParallel` (DDP) does the same in one line, if the script around that line is right, and there is much in it that can be wrong without an error.
# And when a model no longer fits into one memory, the same processes can share the model itself.
#
# **You will**
#
# - turn a training script into one that `torchrun` starts on any number of processes, and show that it computes the same;
# - say what `DistributedDataParallel` sends and when, accumulate gradients without sending, and see where the result does change;
# - resume a killed run, on as many processes as before or on fewer;
# - shard parameters, gradients and optimizer state with `fully_shard`, count its collectives and compute its memory.
#
# **Cost**: about a minute on a CPU and 2 GB of memory, for a launcher and two processes beside this one; Fashion-MNIST, 31 MB, once. One cell uses GPUs if there are any.

# %%
import argparse
import json
import math
import os
import shutil
import signal
import tempfile
import threading
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import (
    apply_init, count_params, load_checkpoint, save_checkpoint)
from d2l_helpers.chapters.computational_performance import (
    gantt, max_difference, small_lenet)
from d2l_helpers.chapters.linear_classification import FashionMNIST
from d2l_helpers.chapters.modern_cnns import ResNet18, conv_norm, scaled

d2l.use_style()

# %% tags=["parameters"]
examples = 128  # images for the residual network
width = 0.125  # of its channels
epochs = 2

# %% [markdown]
# ## One script, many processes
#
# PyTorch's older `nn.DataParallel` splits each batch among the threads of a single process; its documentation advises using `DistributedDataParallel` instead, even on one machine.
# That runs one process for each device.
# The command
#
# ```
# torchrun --nproc_per_node=2 train_ddp.py --epochs 2
# ```
#
# starts the same script twice.
# What the copies need to know about each other is in their environment: `WORLD_SIZE` (how many there are), `LOCAL_WORLD_SIZE` (how many of them on this machine), `RANK` (the number of this one, from 0), `LOCAL_RANK` (its number on this machine, which decides its device), and the address of the *rendezvous*, where they find each other.
#
# ![torchrun starts two processes, which differ in RANK. In each, the sampler picks other rows; forward and backward follow; an all-reduce connects the two backward passes, and both optimizers take the same step. Rank 0 alone writes the checkpoint.](img/ddp-launch.svg)
#
# **Figure 13.6.1.** Two processes of one launch.
# They read different rows and draw different random numbers; the averaged gradients keep their parameters equal.

# %% tags=["export"]
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


# %% [markdown]
# `init_process_group` reads the environment, meets the others and opens the connections: through the library Gloo between CPUs, through NCCL between NVIDIA GPUs.
#
# Now the training loop.
# Five things differ from a loop for one process, each marked by a number.

# %% tags=["export"]
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


# %% [markdown]
# (1) `DDP(net)` sends the parameters and buffers of rank 0 to all ranks, and hangs a hook on each parameter that averages its gradient over the ranks during `backward`.
# Since it averages, the loss must be a mean and the shares equal.
# The optimizer gets the parameters of `net`, which are the same tensors.
# Each rank runs its own optimizer; equal gradients keep equal parameters equal.
#
# (2) Dropout and augmentation should draw different numbers on different ranks.
#
# (3) The sampler shuffles all rows by a seed that all ranks share, and takes every `world`-th row from position `rank` on.
#
# (4) A loss or an accuracy that rank 0 prints is that of its own rows, unless sums and counts are reduced first.
#
# (5) Checkpoints follow below: rank 0 writes, and nobody goes on before it has.
# On several machines, `path` must be a place that all of them see, or the ranks would not start at the same epoch.

# %% tags=["export"]
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


# %% [markdown]
# The model is a [ResNet-18](../08-modern-cnns/06-resnet.ipynb) for small images: its first convolution is 3x3 with stride 1, and no pooling follows, so the first blocks see all the pixels.
# `norm` chooses between batch normalization and [group normalization](../08-modern-cnns/05-batch-norm.ipynb), which takes its statistics from one image and so does not look at the batch.

# %% tags=["export"]
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


# %%
# check 13.6-C7: parameters by the formula, and no pooling
channels = [64, 64, 128, 256, 512]
count = 9 * 1 * 64 + 2 * 64  # the stem: weights, scale and shift
for c_in, c in zip(channels[:-1], channels[1:]):
    count += 9 * c_in * c + 3 * 9 * c * c + 4 * 2 * c  # two blocks
    count += (c_in * c + 2 * c) * (c_in != c)  # the shortcut's 1x1
count += 512 * 10 + 10
full = resnet18()
assert count_params(full) == count == 11_172_810
assert full[:2](torch.zeros(2, 1, 28, 28)).shape == (2, 64, 28, 28)
rng = torch.Generator().manual_seed(1)
X = torch.randn(4, 1, 28, 28, generator=rng)
for norm, alone in (("batch", False), ("group", True)):
    torch.manual_seed(0)
    net = resnet18(width=0.125, norm=norm)
    assert count_params(net) == count_params(resnet18(width=0.125))
    assert torch.allclose(net(X)[:2], net(X[:2]), atol=1e-5) == alone

# %% [markdown]
# The main program reads its arguments, joins the launch and prints one line, on rank 0.

# %%
def main():
    parser = argparse.ArgumentParser(description="Train a small ResNet-18.")
    add = parser.add_argument
    add("--norm", choices=("batch", "group"), nargs="+", default=["group"])
    add("--width", type=float, default=1.0, help="of the channels")
    add("--examples", type=int, help="images to train on (all)")
    add("--epochs", type=int, default=2)
    add("--batch-size", type=int, default=64, help="of all ranks together")
    add("--lr", type=float, default=0.05)
    add("--seed", type=int, default=0)
    add("--amp", action="store_true", help="compute in bfloat16")
    add("--float64", action="store_true", help="compute in float64")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--checkpoint", help="file to write after each epoch, and resume")
    args = parser.parse_args()
    device = join_launch(args.device)
    dtype = torch.float64 if args.float64 else torch.float32
    X, y = FashionMNIST(train_size=args.examples).train.tensors
    losses = {}
    for norm in args.norm:
        torch.manual_seed(args.seed)
        net = resnet18(width=args.width, norm=norm).to(device, dtype)
        losses[norm] = train_ddp(
            net, TensorDataset(X.to(dtype), y), F.cross_entropy,
            partial(torch.optim.SGD, lr=args.lr, momentum=0.9), args.epochs,
            args.batch_size, args.seed, args.amp,
            args.checkpoint and f"{args.checkpoint}-{norm}")
    rank, world = ranks()
    if rank == 0:
        print(json.dumps({"ranks": world, "device": device.type,
                          "losses": losses}))
    if dist.is_initialized():
        dist.destroy_process_group()


# %%
HEAD = """
import argparse, json, math, os, shutil, signal, threading
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from d2l_helpers.chapters.builders_guide import (
    apply_init, load_checkpoint, save_checkpoint)
"""
MODELS = """
from d2l_helpers.chapters.linear_classification import FashionMNIST
from d2l_helpers.chapters.modern_cnns import ResNet18, conv_norm, scaled
"""
TOOLS = (join_launch, ranks, train_ddp, save_run, resume_run, group_norm,
         resnet18)
script = d2l.write_script("train_ddp.py", HEAD, MODELS, *TOOLS, main,
                          "main()")
options = ["--norm", "group", "batch", "--examples", examples, "--width",
           width, "--epochs", epochs, "--batch-size", 16, "--device", "cpu",
           "--float64"]
out = d2l.torchrun(script, nproc=2, args=options, timeout=600)
launched = json.loads(out.stdout.splitlines()[-1])
print(launched)

# %% [markdown]
# ### The same as one process
#
# The sampler deals an order out like cards.
# If the number of ranks divides that of the rows, then step by step the rows of all ranks together are the batch that a single process with the same seed would take, `batch_size` rows of the same order.
# So for a network without dropout or batch normalization, nothing but rounding should tell the two apart, and we can call the same function here, in one process.

# %%
folder = Path(tempfile.mkdtemp())  # for data and checkpoints
torch.save(FashionMNIST(train_size=max(examples, 160)).train.tensors,
           folder / "images")


def images(n, dtype=torch.float32):
    """The first n images (n, 1, 28, 28) of the training set, with labels."""
    X, y = torch.load(folder / "images", weights_only=True)
    return TensorDataset(X[:n].to(dtype), y[:n])


# %%
class Shards(nn.Module):
    """Passes every k-th image through `net`, then the others, and so on."""

    def __init__(self, net, k):
        super().__init__()
        self.net, self.k = net, k

    def forward(self, X):
        scores = [self.net(X[i::self.k]) for i in range(self.k)]
        return torch.stack(scores, dim=1).flatten(0, 1)


def train_resnet(norm, shards=1, dtype=torch.float64):
    """Losses in one process, with the images in `shards` passes."""
    torch.manual_seed(0)
    net = resnet18(width=width, norm=norm).to(dtype)
    return train_ddp(
        Shards(net, shards), images(examples, dtype), F.cross_entropy,
        partial(torch.optim.SGD, lr=0.05, momentum=0.9), epochs, 16)


alone = train_resnet("group")
print("one process:  ", alone)
print("two processes:", launched["losses"]["group"])
apart = [abs(a - b) for a, b in zip(alone, launched["losses"]["group"],
                                    strict=True)]
assert launched["ranks"] == 2 and max(apart) < 1e-9

# %% [markdown]
# That is why the launch above had the option `--float64`.
# Training this network amplifies rounding: in single precision the same run in one process is already further away.

# %% tags=["timing"]
single = train_resnet("group", dtype=torch.float32)
print("one process in float32:", single)
difference = abs(single[-1] - alone[-1])
assert difference > 100 * max(apart)
assert epochs < 2 or difference > 1e-6  # it grows; eps/2 is 6e-8

# %% [markdown]
# ### The sampler

# %%
# check 13.6-C2: 101 rows on two ranks, and a new order each epoch
def dealt(epoch, n=101, world=2, **options):
    """The rows of each rank in an epoch."""
    samplers = [DistributedSampler(range(n), world, rank, **options)
                for rank in range(world)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [list(sampler) for sampler in samplers]


rows = dealt(0)
assert [len(r) for r in rows] == [51, 51] and len(set(sum(rows, []))) == 101
twice = [i for i in range(101) if sum(rows, []).count(i) == 2]
assert len(twice) == 1 and twice[0] == rows[0][0] == rows[1][-1]
assert dealt(0) == rows != dealt(1)
assert sum(map(len, dealt(0, drop_last=True))) == 100
whole = dealt(0, n=100, world=1)[0]
for i in range(0, 50, 5):  # five rows of each rank: ten of the order
    a, b = (set(r[i:i + 5]) for r in dealt(0, n=100))
    assert a | b == set(whole[2 * i:2 * i + 10]) and not a & b

# %% tags=["hide-input"]
# check: train_ddp deals each epoch anew; bfloat16 rounds a little
class Rows(torch.utils.data.Dataset):
    """Twelve rows that remember who was asked for."""

    def __init__(self):
        rng = torch.Generator().manual_seed(3)
        self.X, self.seen = torch.randn(12, 5, generator=rng), []

    def __len__(self):
        return 12

    def __getitem__(self, i):
        self.seen.append(i)
        return self.X[i], torch.tensor(i % 3)


losses = []
for amp in (False, True):
    torch.manual_seed(0)
    data, net = Rows(), nn.Linear(5, 3)
    losses += train_ddp(net, data, F.cross_entropy, partial(
        torch.optim.SGD, lr=0.1), 2, 4, amp=amp)
    assert sorted(data.seen[:12]) == sorted(data.seen[12:]) == [*range(12)]
    assert data.seen[:12] != data.seen[12:]
assert 0 < abs(losses[0] - losses[2]) < 0.02 and losses[1] < losses[0]

# %% [markdown]
# All ranks must take the same number of steps, so the sampler pads: of 101 rows one is dealt twice, the first of the order.
# `drop_last=True` leaves one out instead.
# The losses that `train_ddp` returns count the padded row twice.
# In evaluation neither is right: count the padded rows once, or reduce sums and counts over unequal shares.
# `set_epoch` sets the seed of the order; without it every epoch has the same one (Exercise 13.6-1).

# %% [markdown]
# Collectives need a launch, so for the rest of this section we put small functions into one script and collect what rank 0 returns.
# First, ten steps of LeNet with two optimizers.
# Each rank starts from other parameters on purpose: what `DDP` does at the start is part of the test.

# %%
def lenet_run(name, path, epochs, seed=0):
    """Train LeNet in float64, five steps per epoch; its parameters."""
    net = small_lenet(seed).double()
    optimizer = {"sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
                 "adam": partial(torch.optim.Adam, lr=1e-3)}[name]
    train_ddp(net, images(160, torch.float64), F.cross_entropy, optimizer,
              epochs, 32, path=path)
    return [p.detach() for p in net.parameters()]


def ten_steps():
    """Two epochs with each optimizer, left in files, the first one too."""
    rank, world = ranks()
    for name in ("sgd", "adam"):
        path = folder / f"{name}-{world}"
        lenet_run(name, path, 1, seed=rank)
        if rank == 0:
            shutil.copy(path, folder / f"{name}-{world}-half")
        lenet_run(name, path, 2, seed=rank)  # resumes


# %% [markdown]
# The second function asks what the shares do.
# Ranks with 48 and 16 rows get the mean of two means, in which a row of the small share counts three times as much.
# A factor $kn_j/n$ before the loss of rank $j$, with its $n_j$ of the $n$ rows and $k$ ranks, turns the mean into the right one.

# %%
def batch64():
    """A network, 64 images with labels, and the gradient of their loss."""
    net = small_lenet()
    X, y = images(64).tensors
    F.cross_entropy(net(X), y).backward()
    whole = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    return net, X, y, whole


def unequal():
    """Gradient error for shares of 32 + 32 rows, of 48 + 16, weighted."""
    rank, world = ranks()
    net, X, y, whole = batch64()
    model = DDP(net)
    errors = {}
    for name, cut in (("equal", 32), ("unequal", 48), ("weighted", 48)):
        rows = slice(None, cut) if rank == 0 else slice(cut, None)
        factor = world * len(y[rows]) / 64 if name == "weighted" else 1.0
        net.zero_grad()
        (factor * F.cross_entropy(model(X[rows]), y[rows])).backward()
        errors[name] = max_difference(
            [p.grad for p in net.parameters()], whole)
    return errors


# %% [markdown]
# ## What DDP sends, and when
#
# One all-reduce for each parameter would pay its latency many times; a single one would have to wait until the backward pass has ended.
# DDP takes the middle: gradients travel in *buckets*.
# Backward passes produce the gradients of the last layers first, so a bucket is filled from the end of the parameter list.
# When its last gradient has arrived, and the buckets before it have been sent off, its all-reduce starts while the backward pass goes on with earlier layers (Li et al. 2020).
# The fixed order makes all ranks send the same buckets at the same turn.
# `bucket_cap_mb` sets the size, by default 25 MB with a first bucket of 1 MB, which soon gets the exchange going; a limit that you set holds for the first bucket too.
# (An MB of a bucket is $2^{20}$ bytes.)
#
# A bucket is closed by the gradient that reaches the limit, so it may be larger.

# %% tags=["export"]
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


# %%
# check 13.6-C8: every parameter once, in reverse order; no bucket too early
sizes = [4 * p.numel() for p in full.parameters()]
plans = {"one for all": bucket_plan(sizes, sum(sizes)),
         "DDP's default": bucket_plan(sizes, 25 * 2**20, first=2**20),
         "one each": bucket_plan(sizes, 1)}
for name, plan in plans.items():
    assert sum(plan, []) == list(range(len(sizes)))[::-1]
    print(f"{name}: {len(plan)} buckets; the first have",
          [round(sum(sizes[i] for i in b) / 2**20, 1) for b in plan[:3]],
          "MB")
for bucket in plans["DDP's default"][:-1]:
    limit = 2**20 if bucket[0] == len(sizes) - 1 else 25 * 2**20
    held = [sizes[i] for i in bucket]
    assert sum(held[:-1]) < limit <= sum(held)
assert len(plans["DDP's default"]) == 3 and len(plans["one each"]) == 62

# %% [markdown]
# What does that save?
# The next figure computes a timeline for this ResNet-18 from its operations and sizes.
# Its four constants are assumptions, not measurements: 32 images, $10^{13}$ operations per second, 8 GB per second between the devices, and 0.1 ms to start an exchange.
# Only convolutions and dense layers are taken to cost time, and no exchange slows them down.
# Exchanges follow each other on the one connection.

# %%
def operations(net, X):
    """Multiply-adds for each parameter of `net` in a forward pass of X."""
    count = {}

    def hook(module, args, Y):
        uses = Y.numel() // module.weight.shape[0]  # of each output channel
        count[module.weight] = uses * module.weight.numel()

    handles = [m.register_forward_hook(hook) for m in net.modules()
               if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        net.eval()(X)
    for handle in handles:
        handle.remove()
    return [count.get(p, 0) for p in net.parameters()]


def exchange(ops, sizes, plan, start=1e-4):
    """Seconds of the backward pass, and (start, end) of each bucket."""
    ready, clock, free, spans = {}, 0.0, 0.0, []
    for i in reversed(range(len(sizes))):
        clock += 4 * 32 * ops[i] / 1e13  # two products, two operations
        ready[i] = clock
    for bucket in plan:
        begin = max(free, max(ready[i] for i in bucket))
        free = begin + start + sum(sizes[i] for i in bucket) / 8e9
        spans.append((begin, free))
    return clock, spans


# %%
ops = operations(full, torch.zeros(1, 1, 28, 28))
del full  # 45 MB
timelines = {name: exchange(ops, sizes, plan) for name, plan in plans.items()}
ends = {name: spans[-1][1] for name, (_, spans) in timelines.items()}
backward = timelines["one each"][0]
sending = sum(sizes) / 8e9
assert math.isclose(ends["one for all"], backward + sending + 1e-4)
assert backward < min(ends.values()) == ends["DDP's default"]
spent = {name: end - backward for name, end in ends.items()}
print({name: f"{1000 * t:.1f} ms after the backward pass"
       for name, t in spent.items()})

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
rows, groups = [("backward", 0, 1000 * backward, "")], ["computation"]
for name, (_, spans) in timelines.items():
    for i, (begin, end) in enumerate(spans):
        rows.append((name, 1000 * begin, 1000 * end,
                     str(i + 1) if len(spans) < 9 else ""))
        groups.append("exchange")
gantt(rows, ax, groups, xlabel="milliseconds since backward began")
d2l.describe(fig, """Bars over time: the backward pass; one exchange that
    starts at its end; three, of which the last starts there; sixty-two
    short ones.""")

# %% [markdown]
# **Figure 13.6.2.** Computed timelines.
# With DDP's buckets, most of the exchange hides behind the backward pass; what is left is the last bucket.
# With one exchange for each parameter, the starts add up.
# DDP's default is the best of these three, but not of all: with these constants, `bucket_plan(sizes, 10 * 2**20, first=2**20)` leaves about half as much, and without the small first bucket nearly as much as the default (try it).
# The best limit depends on the constants, which is why it is a parameter.

# %% [markdown]
# ### Watching the buckets
#
# A *communication hook* replaces the all-reduce.
# DDP calls it with each bucket and takes what the returned future holds for the averaged gradient.
# Ours writes down what comes and then does the usual thing; PyTorch has others that compress the bucket to 16 bits for the journey, which halves the traffic and rounds the gradient.

# %%
def watched(model):
    """The list to which each exchange of `model` appends its numbers."""
    seen = []

    def hook(state, bucket):
        seen.append(bucket.buffer().numel())
        return default_hooks.allreduce_hook(state, bucket)

    model.register_comm_hook(None, hook)
    return seen


def dense():
    """Three dense layers for images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(),
                         nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def buckets():
    """Numbers in each exchange of a first and of a second step."""
    steps = []
    for net in (dense(), small_lenet()):
        model = DDP(net, bucket_cap_mb=0.001)
        seen = watched(model)
        for _ in range(2):
            model(torch.randn(4, 1, 28, 28)).sum().backward()
            steps.append(seen.copy())
            seen.clear()
    return steps


# %%
def compressed():
    """Gradient error by the type in which the buckets travel."""
    rank, world = ranks()
    errors = {}
    for name in ("allreduce_hook", "fp16_compress_hook",
                 "bf16_compress_hook"):
        net, X, y, whole = batch64()
        model = DDP(net)
        model.register_comm_hook(None, getattr(default_hooks, name))
        F.cross_entropy(model(X[rank::world]), y[rank::world]).backward()
        errors[name] = max_difference(
            [p.grad for p in net.parameters()], whole)
    return errors


# %% [markdown]
# ### Accumulating without sending
#
# When a share of the batch does not fit into memory, gradients of $m$ micro-batches are accumulated before a step ([Section 12.5](../12-optimization/05-minibatch-sgd.ipynb)).
# Averaging each of them would send $m$ times as much as needed.
# Inside `model.no_sync()` no gradient is sent; the first forward and backward pass outside averages all that has come together.
# The *forward* pass has to be inside as well, since it decides whether its backward pass will send.
# `accumulate` runs three versions with four micro-batches and counts exchanges.

# %%
def accumulate():
    """Exchanges, gradient error, and difference between ranks before."""
    rank, world = ranks()
    result = {}
    for name in ("always", "no_sync", "backward only"):
        net, X, y, whole = batch64()
        model = DDP(net)
        seen = watched(model)
        X, y = X[rank::world].chunk(4), y[rank::world].chunk(4)
        for i in range(4):
            quiet = name != "always" and i < 3
            outer, inner = nullcontext(), nullcontext()
            if quiet and name == "no_sync":
                outer = model.no_sync()
            elif quiet:
                inner = model.no_sync()
            with outer:
                value = F.cross_entropy(model(X[i]), y[i])
                with inner:
                    value.backward()
            if i == 2:
                own = net[0].weight.grad.clone()
        mean = own.clone()
        dist.all_reduce(mean)
        result[name] = {
            "exchanges": len(seen),
            "apart": (own - mean / world).abs().max().item(),
            "error": max_difference(
                [p.grad / 4 for p in net.parameters()], whole)}
    return result


# %% [markdown]
# ### Batch normalization
#
# DDP averages gradients, not activations: each rank normalizes its own share by its own mean and variance.
# `nn.SyncBatchNorm.convert_sync_batchnorm` replaces the layers by ones that exchange them, on GPUs; in the PyTorch used here they refuse CPU tensors.
# The launch at the top also trained with batch normalization; we compare below.
# (The running statistics for evaluation are those of rank 0, which DDP sends around with each forward pass.)

# %%
def sync_norm():
    """What SyncBatchNorm says to a tensor on the CPU."""
    try:
        return str(nn.SyncBatchNorm(3)(torch.ones(2, 3)))
    except ValueError as error:
        return str(error)


# %% [markdown]
# ### A run that is killed
#
# The last function trains with Adam and dropout, and in the middle of the second epoch rank 1 gets a signal that no program can catch.
# We return to its checkpoint below.

# %%
def with_dropout(path, last=2, after_step=None):
    """A small network, trained for `last` epochs of five steps."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(),
                        nn.Dropout(0.3), nn.Linear(32, 10))
    train_ddp(net, images(160), F.cross_entropy,
              partial(torch.optim.Adam, lr=1e-2), last, 32, path=path,
              after_step=after_step)
    return [p.detach() for p in net.parameters()]


def killed():
    """A run that loses rank 1 in its eighth step."""
    def accident(epoch, step):
        if (epoch, step) == (1, 2) and ranks()[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with_dropout(folder / "killed", after_step=accident)


# %%
def on_ranks(*functions, more=(), last="0", check=True):
    """Call functions on two ranks: ({name: result of rank 0}, status).

    `more` is what else they use; `last` runs when the results are
    out, and may fail.
    """
    pairs = ", ".join(f"{f.__name__!r}: {f.__name__}" for f in functions)
    run = f"""
    width, examples, epochs = {width}, {examples}, {epochs}
    folder = Path({str(folder)!r})
    join_launch("cpu")
    results = {{name: f() for name, f in {{{pairs}}}.items()}}
    if dist.get_rank() == 0:
        print(json.dumps(results), flush=True)
    {last}
    dist.destroy_process_group()
    """
    shared = (images, small_lenet, lenet_run, max_difference, batch64,
              watched, with_dropout, killed)
    demo = d2l.write_script("demo.py", HEAD, *TOOLS, *shared, *more,
                            *functions, run)
    out = d2l.torchrun(demo, nproc=2, timeout=600, check=check)
    return json.loads(out.stdout.splitlines()[-1]), out.returncode


ddp, status = on_ranks(ten_steps, unequal, buckets, compressed, accumulate,
                       sync_norm, more=(dense,), last="killed()", check=False)
assert status != 0  # the launch ended by an accident, as intended

# %% [markdown]
# ## What the ranks found

# %% tags=["timing"]
# check 13.6-C1: ten steps on two ranks end where one process ends
ten_steps()  # the same function, here
for name in ("sgd", "adam"):
    ends = [torch.load(folder / f"{name}-{world}", weights_only=True)["model"]
            for world in (1, 2)]
    apart = max_difference(*(list(end.values()) for end in ends))
    print(f"{name}: parameters differ by {apart:.1e} after ten steps")
    assert apart < 1e-9
    moved = max_difference(ends[0].values(), small_lenet().parameters())
    assert moved > 0.005  # the steps did something
print("gradient errors:", ddp["unequal"])
assert max(ddp["unequal"][key] for key in ("equal", "weighted")) < 1e-6
assert ddp["unequal"]["unequal"] > 1e-3

# %% [markdown]
# Ten steps of either optimizer end at the same parameters up to rounding, although rank 1 had begun with others.
# Unequal shares break it, and weights repair it.

# %%
# check: the buckets that DDP used are those of the plan
sizes = [4 * p.numel() for p in dense().parameters()]
plan = [sum(sizes[i] for i in bucket) // 4
        for bucket in bucket_plan(sizes, int(0.001 * 2**20))]
first, later, _, lenet = ddp["buckets"]
print("first step:", first, " later:", later, " plan:", plan)
assert first == [sum(sizes) // 4] and later == plan and len(plan) == 3
assert lenet == [1290, 102_528, 25_000, 250]  # 50 biases in the last

# %% [markdown]
# The buckets are those of the plan, from the second step on.
# In the first step everything travels together: DDP then records in which order the gradients arrive, and builds its buckets from that.
# (So it is by default; with `find_unused_parameters=True`, Exercise 13.6-4, there are several buckets from the start, which are not built again.)
# It need not be the reverse order exactly: in LeNet the weight of a convolution arrived before its bias, and the bias went into the next bucket.

# %% tags=["timing"]
# check 13.6-C4: float16 rounds a little, bfloat16 more, float32 hardly
plain, half, brain = ddp["compressed"].values()
print(f"float32 {plain:.1e}, float16 {half:.1e}, bfloat16 {brain:.1e}")
assert plain < 1e-7 < half < 1e-4 and 2 * half < brain < 1e-3

# %% tags=["timing"]
# check 13.6-C3: one exchange instead of four, the same gradient
for name, result in ddp["accumulate"].items():
    print(f"{name:14} {result['exchanges']} exchanges, ranks apart "
          f"{result['apart']:.1e}, error {result['error']:.1e}")
    assert result["error"] < 1e-6
    assert result["exchanges"] == (1 if name == "no_sync" else 4)
    assert (result["apart"] > 1e-4) == (name == "no_sync")

# %% [markdown]
# With `no_sync` the ranks' gradients are apart before the last micro-batch and equal to the full batch's after it, for one exchange instead of four.
# Around the backward pass alone it does nothing.

# %%
local = launched["losses"]["batch"]
once, halves = train_resnet("batch"), train_resnet("batch", shards=2)
print("two ranks", local)
print("one process, whole batches", once)
print("one process, two halves   ", halves)
assert max(abs(a - b) for a, b in zip(local, halves, strict=True)) < 1e-9
assert max(abs(a - b) for a, b in zip(local, once, strict=True)) > 1e-3
assert "SyncBatchNorm expected input tensor to be on" in ddp["sync_norm"]

# %% [markdown]
# With group normalization one process and two agreed to rounding; with batch normalization they do not.
# The control shows why: a single process that passes the two halves of each batch through the network one after the other, so that each is normalized by its own statistics, reproduces the two ranks.
# Whether local statistics help or harm is another question; with few images per device they are noisy (Wu and He 2018).
# Goyal et al. (2017) kept the number of images per device fixed when they added devices.

# %% [markdown]
# ## Sharding: one model on all ranks
#
# DDP divides the batch and repeats everything else.
# With Adam in float32, each of $N$ parameters costs 16 bytes on *every* rank: 4 for itself, 4 for its gradient, 8 for two moments.
# (DDP's buckets hold a second copy of the gradients, 4 bytes more, unless `gradient_as_bucket_view=True` makes the gradients views of them. We leave that out.)
# Rajbhandari et al. (2020) remove the repetition in three stages, called *ZeRO* (zero redundancy optimizer): stage 1 divides the optimizer state among the $k$ ranks, stage 2 the gradients too, stage 3 also the parameters.
# At stage $s$ each rank then stores $M_s$ bytes, without activations and buffers,
#
# $$M_0=16N,\qquad M_1=8N+\frac{8N}k,\qquad M_2=4N+\frac{12N}k,\qquad M_3=\frac{16N}k. \tag{13.6.1}$$
#
# At stage 3 no rank can compute with what it holds.
# A layer's parameters are collected by an all-gather just before they are used, and freed after; its gradient is averaged by a reduce-scatter, which leaves each rank the part that it owns.
# On top of $M_3$ come the gathered parameters of the largest group, in the backward pass its whole gradients as well, and more if the next group is fetched ahead.

# %% tags=["export"]
def zero_memory(N, k, stage):
    """Bytes on each of k ranks: {"parameters", "gradients", "Adam"}.

    For N float32 parameters with Adam; stage 0 shards nothing, 1 its
    moments, 2 gradients too, 3 also parameters.
    """
    return {"parameters": 4 * N / (k if stage > 2 else 1),
            "gradients": 4 * N / (k if stage > 1 else 1),
            "Adam": 8 * N / (k if stage > 0 else 1)}


# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8),
                                  layout="constrained")
names = ["DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3"]
bottom = torch.zeros(4)
for part in ("parameters", "gradients", "Adam"):
    high = torch.tensor([zero_memory(1e9, 8, s)[part] / 1e9
                         for s in range(4)])
    left.bar(names, high, bottom=bottom, label=part)
    bottom += high
left.set(ylabel="GB per rank", title="8 ranks")
left.legend(fontsize=8)
world = [1, 2, 4, 8, 16, 32, 64]
for stage, style in enumerate(("-", "--", "-.", ":")):
    right.plot(world, [sum(zero_memory(1e9, k, stage).values()) / 1e9
                       for k in world], style, label=names[stage])
right.set(xscale="log", yscale="log", xlabel="ranks $k$", title="all parts",
          xticks=world, xticklabels=world, ylabel="GB per rank")
right.minorticks_off()
right.set_yticks([0.25, 1, 4, 16], ["0.25", "1", "4", "16"])
right.legend(fontsize=8)
d2l.describe(fig, """Left, stacked bars for eight ranks: 16 GB for DDP, 9,
    5.5 and 2 GB for the stages. Right, against the number of ranks: DDP stays
    at 16 GB, stages 1 and 2 level off at 8 and 4 GB, stage 3 keeps
    falling.""")

# %% [markdown]
# **Figure 13.6.3.** Equation (13.6.1) for $10^9$ parameters.
# Only stage 3 has no floor in (13.6.1); what it still needs on every rank is room for its largest group and the activations.
#
# In PyTorch, stage 3 is `fully_shard` (also called FSDP2; its predecessor is the wrapper class `FullyShardedDataParallel` of Zhao et al. 2023).
# It changes the parameters of a module, in place, into *distributed tensors* (`DTensor`), of which each rank holds a part along dimension 0.
# We call it on each block, then on the root, which takes what is left: each call makes one group that is gathered together.
# The optimizer must be made afterwards, from the new parameters.

# %%
def mlp():
    """Three dense layers, the same on every rank."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32),
                         nn.ReLU(), nn.Linear(32, 4))


def shard(net, **options):
    """`net`, each dense layer and then the rest sharded over all ranks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in net:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh, **options)
    return fully_shard(net, mesh=mesh, **options)


def adam_steps(net, opt, steps, shared=True):
    """Regression on random batches of 64, `shared` among the ranks."""
    rank, world = ranks() if shared else (0, 1)
    for step in steps:
        rng = torch.Generator().manual_seed(step)
        X = torch.randn(64, 20, generator=rng)
        y = X[:, :4] * X[:, 4:8]  # (64, 4)
        opt.zero_grad()
        F.mse_loss(net(X[rank::world]), y[rank::world]).backward()
        opt.step()


# %% [markdown]
# (The functions below import what only the other processes use.)
#
# The script trains ten steps, reports what it holds, and after five of them writes a checkpoint.
# `torch.distributed.checkpoint` lets every rank write its own part; no tensor is gathered.

# %%
def sharded():
    """What this rank holds after ten steps, and all parameters."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict
    net = shard(mlp())
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    adam_steps(net, opt, range(5))
    model, optim = get_state_dict(net, opt)
    dcp.save({"model": model, "optim": optim},
             checkpoint_id=folder / "sharded")
    adam_steps(net, opt, range(5, 10))
    first, *_ = params = list(net.parameters())
    moments = [opt.state[p][key] for p in params
               for key in ("exp_avg", "exp_avg_sq")]
    groups = {"parameters": params, "gradients": [p.grad for p in params],
              "Adam": moments}
    return {
        "shape": list(first.shape), "local": list(first.to_local().shape),
        "types": sorted({type(t).__name__ for t in params + moments}),
        "bytes": {name: sum(4 * t.to_local().numel() for t in group)
                  for name, group in groups.items()},
        "end": [p.full_tensor().tolist() for p in params]}

# %%
def reloaded():
    """Parameters where one process alone goes on from the checkpoint."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import (
        get_state_dict, set_state_dict)
    net = mlp()  # not sharded
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    model, optim = get_state_dict(net, opt)  # filled by load
    dcp.load({"model": model, "optim": optim}, no_dist=True,
             checkpoint_id=folder / "sharded")
    set_state_dict(net, opt, model_state_dict=model, optim_state_dict=optim)
    adam_steps(net, opt, range(5, 10), shared=False)
    return [p.tolist() for p in net.parameters()]


# %%
def collectives():
    """Collectives in one step, with and without freeing in between."""
    from torch.distributed.tensor.debug import CommDebugMode
    counts = {}
    for free in (True, False):
        net = shard(mlp(), reshard_after_forward=free)
        opt = torch.optim.Adam(net.parameters())
        adam_steps(net, opt, range(1))  # the first step sets things up
        with CommDebugMode() as comm:
            adam_steps(net, opt, range(1, 2))
        counts[str(free)] = {
            str(op): n for op, n in comm.get_comm_counts().items() if n}
    return counts


# %%
def low_precision():
    """Types of scores, parameters and gradients, and of the exchange."""
    from torch.distributed.fsdp import MixedPrecisionPolicy
    from torch.utils._python_dispatch import TorchDispatchMode

    class Exchanged(TorchDispatchMode):
        """Notes the types of what is summed over the ranks."""

        types = set()

        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            if "reduce_scatter" in str(op):
                self.types |= {str(t.dtype) for t in args[:2]}
            return op(*args, **(kwargs or {}))

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16,
                                  reduce_dtype=torch.float32)
    net = shard(mlp(), mp_policy=policy)
    with Exchanged() as exchanged:
        scores = net(torch.ones(2, 20))
        scores.sum().backward()
    p = next(net.parameters())
    own = [str(t.dtype) for t in (scores, p, p.grad)]
    return own, sorted(exchanged.types)


def too_early():
    """How far an optimizer moves the model that is older than its shards."""
    net = mlp()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    adam_steps(shard(net), opt, range(3))
    return max_difference([p.full_tensor() for p in net.parameters()],
                          mlp().parameters())


# %% [markdown]
# The same launch goes back to the killed run.
# Three times it resumes from the checkpoint: as it is; without Adam's state; and with the generator of rank 0 on both ranks, as a script would that lets rank 0 save "the" generator.
# For each we measure how far it ends from a run that nothing happened to.

# %%
def resumed():
    """Distance from an undisturbed run, by what the checkpoint lacks."""
    rank, world = ranks()
    undisturbed = with_dropout(folder / "undisturbed")
    distance = {}
    for name in ("nothing", "moments", "generators"):
        path = folder / f"without-{name}"
        if rank == 0:
            saved = torch.load(folder / "killed", weights_only=True)
            if name == "moments":
                saved["optimizer"]["state"] = {}
            if name == "generators":
                saved["states"] = saved["states"][:1] * world
            torch.save(saved, path)
        dist.barrier()
        distance[name] = max_difference(with_dropout(path), undisturbed)
    return distance


# %%
fsdp, _ = on_ranks(sharded, reloaded, collectives, low_precision, too_early,
                   resumed, more=(mlp, shard, adam_steps))

# %% tags=["timing"]
# check 13.6-C5: shards, moments, ten steps equal to one process, counts
net_adam = mlp()
opt = torch.optim.Adam(net_adam.parameters(), lr=0.01)
adam_steps(net_adam, opt, range(10))
shards = [torch.tensor(p) for p in fsdp["sharded"]["end"]]
apart = max_difference(shards, net_adam.parameters())
print(f"parameters differ by {apart:.1e};", fsdp["collectives"])
assert apart < 1e-6 < 0.01 < max_difference(shards, mlp().parameters())
assert fsdp["sharded"]["shape"] == [32, 20]
assert fsdp["sharded"]["local"] == [16, 20]
assert fsdp["sharded"]["types"] == ["DTensor"]
assert fsdp["sharded"]["bytes"] == zero_memory(
    count_params(net_adam), 2, 3)
for free, gathers in (("True", 6), ("False", 3)):
    assert fsdp["collectives"][free] == {
        "c10d._allgather_base_": gathers, "c10d._reduce_scatter_base_": 3}
assert fsdp["low_precision"] == [
    ["torch.bfloat16", "torch.float32", "torch.float32"],
    ["torch.float32"]]  # what is exchanged
assert fsdp["too_early"] == 0

# %% [markdown]
# An optimizer that is made too early moves nothing, without an error: its tensors are no longer those of the model.
#
# Each rank held half of all parameters, gradients and moments, number for number what (13.6.1) says at 4 bytes each, since two divides every first dimension here; put together, the parameters are those of one process up to rounding.
# (Of three rows, one rank would hold two and the other one: a part is made of whole rows.)
#
# Three layers took six all-gathers, one before the forward and one before the backward pass of each, and three reduce-scatters.
# An all-reduce of $N$ numbers is a reduce-scatter and an all-gather, and by the ring algorithm of [Section 13.7](07-parameter-server.ipynb) each of these costs every rank $\frac{k-1}kN$ sent numbers: $2\frac{k-1}kN$ for DDP, $3\frac{k-1}kN$ for ZeRO-3, half as much again.
# With `reshard_after_forward=False` the gathered parameters stay until the backward pass: three all-gathers, as much traffic as DDP, and during a step the memory for all parameters.
# Left to itself, PyTorch frees all groups except the root's, which is needed again at once.
#
# For large language models, sharding is combined with the other splits of [Section 13.5](05-data-parallel-scratch.ipynb); Liang et al. (2024) describe such a system in PyTorch.
#
# `MixedPrecisionPolicy` is how mixed precision ([Section 13.4](04-hardware.ipynb)) meets sharding: with ours, parameters are gathered and used in bfloat16 and kept and updated in float32.
# Gradients were averaged in float32 too, as `reduce_dtype` asks; according to the documentation, without it they travel in the type of `param_dtype`.

# %% [markdown]
# ## Checkpoints

# %% tags=["timing"]
# check 13.6-C6: killed and resumed equals undisturbed; not without parts
print({name: f"{value:.1e}" for name, value in fsdp["resumed"].items()})
assert fsdp["resumed"]["nothing"] < 1e-6
assert min(fsdp["resumed"][key] for key in ("moments", "generators")) > 1e-3
saved = torch.load(folder / "killed", weights_only=True)
assert len(saved["losses"]) == 1 and len(saved["states"]) == 2
for name in ("sgd", "adam"):  # five steps on two ranks, five on one
    half = torch.load(folder / f"{name}-2-half", weights_only=True)
    assert len(half["losses"]) == 1 and len(half["states"]) == 2
    end = lenet_run(name, folder / f"{name}-2-half", 2, seed=5)
    whole = torch.load(folder / f"{name}-1", weights_only=True)["model"]
    assert max_difference(end, whole.values()) < 1e-9

# %% [markdown]
# When rank 1 died, rank 0 could not go on: Gloo reports a lost connection to the all-reduce that waits for it, and `torchrun` ends whatever is left of the launch.
# The steps since the last checkpoint are lost, here three.
# The killed run goes on from the end of its first epoch, takes them again and arrives where the undisturbed one did.
# Without Adam's state, its moments and its count of steps, it does not, nor with rank 0's generator everywhere: then both ranks draw the same dropout masks.
#
# What belongs in a checkpoint is everything that the next step reads: parameters and buffers, the optimizer's state, the epoch (which seeds the sampler), the generators of *all* ranks, schedules and scalers if there are any.
# It is written to another name first and then renamed ([Section 6.6](../06-builders-guide/06-file-io.ipynb)), so a kill during writing leaves the older one.
# A checkpoint of two ranks also loads in one process, and LeNet's runs went on there for their last five steps.
# The exception is the generators: two states have no place in one process, so random numbers start anew there.
# `map_location` names the device of the loading rank; without it, `torch.load` on every rank would put the tensors that rank 0 saved from its GPU on that same GPU first.
# `torchrun --max-restarts=3` starts again by itself: when a process dies it ends the others and starts all of them anew, up to three times, and a script that resumes from its checkpoint goes on from there.
# In the PyTorch used here, though, a restarted rank can find the address of a dead one in the store where ranks meet, and fail or wait for it; with `TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1` in the environment each start gets a store of its own (PyTorch issue 135712).
# The variable acts only if the ranks meet by `c10d`, the default on one machine; on several, that takes `--rdzv-backend=c10d`.
#
# The sharded checkpoint is a folder with one file for each rank and an index, `.metadata`; it loads into whatever parts are asked for.
# `reloaded` asked for all of everything: with `no_dist=True` each rank for itself filled a model that is not sharded, and took the last five steps with whole batches.

# %%
# check: five steps on two ranks, sharded; the checkpoint goes on in one
end = [torch.tensor(p) for p in fsdp["reloaded"]]
assert max_difference(end, net_adam.parameters()) < 1e-6
assert len(list((folder / "sharded").glob("*.distcp"))) == 2

# %% [markdown]
# ## On GPUs
#
# On a machine with GPUs the launch takes one process for each, NCCL instead of Gloo, and bfloat16.
# How much faster that is depends on the devices and on what connects them; nothing is claimed here.
# The batch grows with the number of devices, 64 images for each, while the learning rate stays as it is, so the training is not the same either; [Section 12.5](../12-optimization/05-minibatch-sgd.ipynb) treats what a larger batch asks of the rate.

# %% tags=["timing"]
devices = torch.cuda.device_count()
if devices:
    out = d2l.torchrun(script, nproc=devices, timeout=600, args=[
        "--batch-size", 64 * devices, "--amp", "--device", "cuda"])
    print(out.stdout)
else:
    print("no GPU here: the launch on GPUs is left out")

# %% [markdown]
# ## Summary
#
# - One script runs on any number of processes if the sampler deals the rows, the loss is a mean over equal shares, metrics are reduced, and rank 0 writes; with group normalization and in double precision, the losses of two ranks then equalled those of one process to nine digits. Dropout and batch normalization make a difference.
# - DDP averages gradients in buckets from the last layer on, while the backward pass goes on; by default the first step sends one bucket.
# - Batch normalization on $k$ ranks is batch normalization of $k$ parts of the batch.
# - `no_sync` around forward and backward passes saves exchanges of micro-batches; a communication hook that sends 16 bits halves the traffic for some rounding.
# - A run with Adam and dropout went on exactly after a kill, with the optimizer's state and every rank's generator, and without either it did not.
# - ZeRO-3 with Adam in float32 stores $16N/k$ bytes on each of $k$ ranks, and the gathered group, for half as much traffic again as DDP. Keeping gathered parameters until the backward pass saves that half, but then all of them are in memory during a step.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 13.6-1
#
# Remove `set_epoch` from `train_ddp`.
# Which orders do the epochs have?
# Is each row still seen as often?

# %% [markdown]
# #### Solution 13.6-1

# %% [markdown]
# All epochs have the order of epoch 0: the seed is `seed + epoch`, and `epoch` stays 0.
# Each row is seen once per epoch as before, but always on the same rank and in the same company, so a batch of epoch 2 is a batch of epoch 1.
# (As the seeds add up, epoch 1 of seed 0 is epoch 0 of seed 1: the orders of runs with neighbouring seeds are not independent.)

# %%
sampler = DistributedSampler(range(100), 2, 0)
orders = [list(sampler) for epoch in range(3)]
assert orders[0] == orders[1] == orders[2] == dealt(0, n=100)[0]
assert orders[0] != dealt(1, n=100)[0]
assert dealt(1, n=100, seed=0) == dealt(0, n=100, seed=1)

# %% [markdown]
# ### Exercise 13.6-2
#
# Rank 1 has one batch fewer than rank 0.
# What happens after its last one, and what does `model.join()` change?
# By which number are the gradients divided then?

# %% [markdown]
# #### Solution 13.6-2

# %% [markdown]
# Rank 0 starts an all-reduce that rank 1 never joins, and waits.
# Here the third step runs in a thread, which is still waiting after two seconds; it ends only because rank 1 then takes a third step after all.
# Without that, the process group would give up at its time limit, with Gloo after half an hour.
# If rank 1 goes on to another collective instead, as `train_ddp` does with its metrics, the two do not match; with `TORCH_DISTRIBUTED_DEBUG=DETAIL` in the environment, PyTorch compares the calls of all ranks and reports the mismatch.
# Inside `model.join()` a rank that is out of batches answers the others' collectives with zeros.
# The sum is still divided by 2, so the last gradient of rank 0 counts half; `divide_by_initial_world_size=False` divides by the number of ranks that are left.
#
# The launch also runs the functions of the next two solutions.

# %%
def uneven():
    """Three batches for rank 0, two for rank 1: who waits, and gradients."""
    rank, world = ranks()
    result = {}
    for name in ("plain", "join", "join by those left"):
        net, X, y, whole = batch64()
        model = DDP(net, process_group=dist.new_group())

        def step():
            net.zero_grad()
            F.cross_entropy(model(X), y).backward()

        if name == "plain":
            step()
            step()
            third = threading.Thread(target=step)
            if rank == 0:
                third.start()
                third.join(timeout=2)
                result["waits"] = third.is_alive()
            dist.barrier()  # now rank 1 takes a third step after all
            if rank == 1:
                third.start()
            third.join()
        else:
            with model.join(divide_by_initial_world_size=name == "join"):
                for _ in range(3 - rank):
                    step()
        result[name] = net[0].weight.grad.norm().item()
    return result


# %%
def same_rows():
    """Gradient errors, against all rows and against the first half."""
    rank, world = ranks()
    net, X, y, whole = batch64()
    F.cross_entropy(net(X[::2]), y[::2]).backward()
    half = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    F.cross_entropy(DDP(net)(X[::2]), y[::2]).backward()
    grads = [p.grad for p in net.parameters()]
    return [max_difference(grads, half), max_difference(grads, whole)]


# %% [markdown]
# ### Exercise 13.6-3
#
# Someone forgets the sampler, and a loader with the same seed gives both ranks the same 32 rows.
# Nothing crashes.
# What is computed?

# %% [markdown]
# #### Solution 13.6-3

# %% [markdown]
# Both gradients are equal, so their mean is the gradient of those 32 rows: two devices do the work of one, and the batch that one thinks is 64 is 32.
# No error is raised, and the run is one with batches of 32.
# One sign is the number of steps: without a sampler, each rank's loader goes through all rows, in twice as many steps per epoch as one process with batches of 64 would take.
# To be sure, look at the rows, or compare with one process as above.

# %%
def spare(find, forward_both=False):
    """Two steps of a net with a frozen and an unused layer."""
    net = nn.ModuleDict({"frozen": nn.Linear(3, 3), "used": nn.Linear(3, 1),
                         "unused": nn.Linear(3, 1)})
    net["frozen"].requires_grad_(False)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, X):
            return self.net["used"](self.net["frozen"](X))

    model = DDP(Model(), find_unused_parameters=find)
    for _ in range(2):
        model(torch.ones(2, 3)).sum().backward()
    return [name for name, p in net.named_parameters() if p.grad is not None]


def unused():
    """The error without the search, and the gradients with it."""
    try:
        spare(find=False)
    except RuntimeError as error:
        message = str(error)
    return [message, spare(find=True)]


# %%
found, _ = on_ranks(uneven, same_rows, unused, more=(spare,))
print(found["uneven"])

# %%
plain, join, left = (found["uneven"][key] for key in (
    "plain", "join", "join by those left"))
assert found["uneven"]["waits"]
assert math.isclose(plain, left, rel_tol=1e-5)
assert math.isclose(2 * join, left, rel_tol=1e-5)
half, whole = found["same_rows"]
assert half < 1e-6 and whole > 1e-3

# %% [markdown]
# ### Exercise 13.6-4
#
# What does DDP say to a layer with `requires_grad=False`, and to a layer that the forward pass does not use?

# %% [markdown]
# #### Solution 13.6-4

# %% [markdown]
# A frozen parameter belongs to no bucket and is never missed.
# An unused one leaves its bucket waiting, with all other gradients in it; in the first step, when everything travels together, no gradient at all is averaged.
# Nothing is raised before the next forward pass, whose error names the remedy; an optimizer step in between moves the ranks apart.
# With `find_unused_parameters=True`, DDP searches the graph after each forward pass for parameters that will get no gradient; that costs time, so it is off by default.

# %%
message, grads = found["unused"]
print(message.splitlines()[0][:70])
assert "find_unused_parameters=True" in message
assert grads == ["used.weight", "used.bias"]

# %% [markdown]
# ### Exercise 13.6-5
#
# A model has $10^9$ parameters.
# How much memory does each of 8 ranks need under ZeRO-1, 2 and 3, with Adam in float32?
# How many ranks does each stage need to stay below 5 GB per rank?

# %% [markdown]
# #### Solution 13.6-5

# %% [markdown]
# 9, 5.5 and 2 GB.
# Stage 1 never gets below 8 GB.
# Stage 2 needs $4+12/k<5$, so 13 ranks; stage 3 needs $16/k<5$, so 4.

# %%
total = {stage: [sum(zero_memory(1e9, k, stage).values()) / 1e9
                 for k in range(1, 10_001)] for stage in range(4)}
assert [total[stage][8 - 1] for stage in range(4)] == [16, 9, 5.5, 2]
fits = {stage: next((k for k, GB in enumerate(values, 1) if GB < 5), None)
        for stage, values in total.items()}
assert fits == {0: None, 1: None, 2: 13, 3: 4}

# %% [markdown]
# ## Sources
#
# - S. Li et al., *PyTorch Distributed: experiences on accelerating data parallel training*, PVLDB 13 (2020), [arXiv:2006.15704](https://arxiv.org/abs/2006.15704): buckets, overlap, `no_sync`.
# - S. Rajbhandari, J. Rasley, O. Ruwase and Y. He, *ZeRO: memory optimizations toward training trillion parameter models*, SC 2020, [arXiv:1910.02054](https://arxiv.org/abs/1910.02054): the three stages, their memory and traffic.
# - Y. Zhao et al., *PyTorch FSDP: experiences on scaling fully sharded data parallel*, PVLDB 16 (2023), [arXiv:2304.11277](https://arxiv.org/abs/2304.11277): the wrapper class before `fully_shard`.
# - W. Liang et al., *TorchTitan: one-stop PyTorch native solution for production ready LLM pre-training* (2024), [arXiv:2410.06511](https://arxiv.org/abs/2410.06511): `fully_shard` with tensor, pipeline and context parallelism.
# - P. Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour* (2017), [arXiv:1706.02677](https://arxiv.org/abs/1706.02677): batch statistics per worker, and other traps of distributed training.
# - Y. Wu and K. He, *Group normalization*, ECCV 2018, [arXiv:1803.08494](https://arxiv.org/abs/1803.08494).
# - PyTorch issue 135712, [a shared store and restarts](https://github.com/pytorch/pytorch/issues/135712): addresses of an earlier start, and the way round them.
# - *DataParallel*, [PyTorch documentation](https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html): the advice to use `DistributedDataParallel`.
