# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu: {}
#       smoke:
#         steps: 2
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
# # 13.5 Training on multiple GPUs
#
# A network that is too slow or too large for one device must be split over several.
# There are three places to cut: through the batch, between layers, and inside a layer.
# Each cut costs communication, but it need not change the result: up to rounding, the gradients are those of a single device.
# We build all three cuts and test that claim with real processes, for which a CPU is enough.
#
# **You will**
#
# - write data-parallel training with raw collectives, and show that it equals training on one device, even with unequal shards;
# - say what each collective does, and count the calls and the numbers that a training step needs;
# - split a pair of dense layers over two processes with one all-reduce each way;
# - draw pipeline schedules, and compute how long their stages idle and how much they store.
#
# **Cost**: about half a minute on a CPU, most of it spent starting processes; one cell needs two GPUs and is skipped without them; a download of 31 MB, once.

# %%
import copy
import json
import math
import time
from dataclasses import replace
from itertools import accumulate

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params, num_gpus
from d2l_helpers.chapters.computational_performance import (
    Task, critical_path, gantt, list_schedule)
from d2l_helpers.chapters.linear_classification import FashionMNIST

d2l.use_style()

# %% tags=["parameters"]
steps = 10  # of SGD with momentum, in two processes and in one

# %% [markdown]
# ## Where to cut

# %% tags=["hide-input"]
def block(ax, x, y, width, owner, solid=True):
    """A rectangle of height 0.8; owner 0, 1, or None for both devices."""
    colour = "0.8" if owner is None else f"C{owner}"
    ax.add_patch(plt.Rectangle(
        (x, y), width, 0.8, facecolor=colour if solid else "none",
        edgecolor="0.3" if solid else colour, linewidth=0.8,
        hatch="///" if owner == 1 and solid else None,
        linestyle="-" if solid else ":"))


fig, axes = plt.subplots(1, 4, figsize=(9.5, 2.6), layout="constrained")
names = ["data", "tensor", "pipeline", "sharded data"]
sent = ["gradients", "activations, per two layers", "activations, at the cut",
        "parameters and gradients"]
for ax, name, what in zip(axes, names, sent, strict=True):
    for row in range(4):
        shard = row // 2 if "data" in name else None
        block(ax, 0, row, 0.8, shard)  # a quarter of the batch
        if name == "tensor":
            block(ax, 1.8, row, 1.4, 0)
            block(ax, 3.3, row, 1.4, 1)
        elif name == "pipeline":
            block(ax, 1.8, row, 2.9, row // 2)
        else:
            for device, x in enumerate((1.8, 3.4)):
                block(ax, x, row, 1.3, device, name == "data")
                if name != "data":
                    block(ax, x + 0.65 * device, row, 0.65, device)
    ax.text(0.4, 4.1, "batch", ha="center", fontsize=8)
    ax.text(3.25, 4.1, "layers", ha="center", fontsize=8)
    ax.set(title=name, xlim=(-0.3, 5), ylim=(-0.1, 4.5), xticks=[],
           yticks=[], xlabel=f"sent: {what}")
    ax.xaxis.label.set_fontsize(8)
    ax.spines[:].set_visible(False)
d2l.describe(fig, """Four panels with a batch of four parts and a network of
    four layers on two devices. Data: each device has half of the batch and
    all layers. Tensor: each device has half of every layer. Pipeline: two
    layers each. Sharded data: half of the batch and half of every layer
    each, the other halves dotted.""")

# %% [markdown]
# **Figure 13.5.1.** Two devices, plain and hatched, and four layers, the first at the bottom; grey is on both devices, and dotted is fetched when needed.
#
# *Data parallelism* gives each device a copy of the network and a part of the batch; the devices exchange gradients, once per step.
# *Tensor parallelism* gives each device a part of every layer; the devices exchange activations several times in each pass, here once for every two layers.
# *Pipeline parallelism* gives each device a few consecutive layers, a *stage*; activations pass from one stage to the next, gradients pass back, and a stage that has no input waits.
# Sharded data parallelism also cuts the batch, but stores each parameter on one device only and fetches it for use ([Section 13.6](06-ddp-fsdp.ipynb)).
#
# How much do they send?
# Take two dense layers of widths $d\to4d\to d$, as in a transformer, with $8d^2$ weights, and a batch of $n$ rows.
# Data parallelism sums gradients of $8d^2$ numbers, whatever $n$ is.
# Tensor parallelism, as we will see, sums $nd$ numbers forward and $nd$ backward; the two are equal at $n=4d$, which for $d=4096$ is 16 384 rows.
# A pipeline sends $nd$ numbers forward and $nd$ backward at each cut, to one neighbour.
#
# The amounts alone do not decide.
# Gradients can be sent while the backward pass is still running ([Section 13.3](03-auto-parallelism.ipynb)), but the layer after a sum cannot start on entries that have not been summed.
# And data parallelism leaves every device with all parameters, while the other two divide them.
#
# A textbook of 2023 recommends the first way; it advises against the cut inside layers, for its traffic and complexity, and against the cut between layers unless the software supports it very well (Zhang and others).
# Large language models combine them: the largest Llama 3 was trained with data, tensor and pipeline parallelism, and in some configurations with context parallelism too.
# *Context parallelism* splits long sequences, and keys and values travel between the devices for attention.
# *Sequence parallelism* splits the activations of dropout and normalization, which lie between tensor-parallel layers, by position instead of storing them whole on every device.
# *Expert parallelism* places the experts of a mixture on different devices and sends each token to the devices of its experts.
# PyTorch arranges devices in a mesh with one axis for each kind, `init_device_mesh("cuda", (4, 2, 2), mesh_dim_names=("dp", "pp", "tp"))`, and a `DTensor` is a tensor that knows how it is split over a mesh.

# %% [markdown]
# ## Data parallelism on logical devices
#
# Let the batch of $n$ examples be cut into $k$ shards of $n_j$ examples, and let $\mathbf{g}_j\in\mathbb{R}^N$ be the gradient of the mean loss over shard $j$, with respect to all $N$ parameters.
# The gradient of the mean loss over the whole batch is
#
# $$\mathbf{g}=\sum_{j=1}^k\frac{n_j}n\,\mathbf{g}_j. \tag{13.5.1}$$
#
# For equal shards this is the mean of the $\mathbf{g}_j$.
# With shards of 48 and 16 the weights are $\frac34$ and $\frac14$; the plain mean would give an example of the small shard three times the weight of one of the large shard.
# Summing without weights would, for equal shards, multiply the gradient by $k$, which for plain SGD is the same as multiplying the learning rate by $k$.
#
# Every device that knows $\mathbf{g}$ makes the same update, so copies that start equal remain equal.
# We need a network and data.

# %% tags=["export"]
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
    """Largest absolute difference between two lists of tensors, or NaN."""
    return torch.stack([(a - b).abs().max() for a, b in zip(
        first, second, strict=True)]).max().item()

# %%
# check 13.5-C8: the features that reach the dense layers
images, labels = fashion_tensors(64 * steps)
net = small_lenet()
features = net[:7](images[:2])
print(f"{features.shape[1]} features, {count_params(net)} parameters")
assert features.shape == (2, 800) and count_params(net) == 129_068
one, bad = torch.ones(2), torch.tensor([float("nan"), 1.0])
assert max_difference([one, one], [one, 4 * one]) == 3
assert math.isnan(max_difference([one, one], [one, bad]))

# %% [markdown]
# Our first devices are only logical: each is a copy of the parameters, and nothing runs in parallel yet.

# %%
def get_params(net, k):
    """k copies of the parameters of net, each a table name -> tensor."""
    return [{name: p.detach().clone().requires_grad_()
             for name, p in net.named_parameters()} for _ in range(k)]


def allreduce(data):
    """Replace each tensor of the list by the sum of all, in place."""
    total = sum(data)
    for x in data:
        x.copy_(total)


def split_batch(X, y, k):
    """k shards [(X_j, y_j), ...] that differ by at most one example."""
    return list(zip(X.tensor_split(k), y.tensor_split(k), strict=True))

# %%
# check 13.5-C1: the sum is on both devices; two processes follow below
data = [torch.ones(2), 2 * torch.ones(2)]
allreduce(data)
assert [x.tolist() for x in data] == [[3, 3], [3, 3]]
assert [len(y) for _, y in split_batch(images[:10], labels[:10], 4)] == [
    3, 3, 2, 2]

# %%
def train_batch_dp(net, copies, X, y, lr):
    """One step of SGD on all copies; returns each device's gradients.

    The batch X, y has at least as many examples as there are copies.
    """
    grads = []
    for params, (X_j, y_j) in zip(
            copies, split_batch(X, y, len(copies)), strict=True):
        loss = F.cross_entropy(functional_call(net, params, X_j), y_j)
        grads.append(torch.autograd.grad(len(y_j) / len(y) * loss,
                                         list(params.values())))
    for same_parameter in zip(*grads, strict=True):
        allreduce(same_parameter)
    with torch.no_grad():
        for params, own in zip(copies, grads, strict=True):
            for p, g in zip(params.values(), own, strict=True):
                p -= lr * g
    return grads

# %%
# check 13.5-C2: the gradients of the full batch, on every device
X, y = images[:64], labels[:64]
F.cross_entropy(net(X), y).backward()
full = [p.grad for p in net.parameters()]
for k in (2, 3):  # 64 = 22 + 21 + 21
    copies = get_params(net, k)
    grads = train_batch_dp(net, copies, X, y, lr=0.1)
    assert all(max_difference(own, full) < 1e-6 for own in grads)
    stepped = [p - 0.1 * p.grad for p in net.parameters()]
    for params in copies:
        assert max_difference(params.values(), stepped) < 1e-6
        assert max_difference(params.values(), copies[0].values()) == 0

# %% [markdown]
# If each of $k$ devices gets as many examples as one device alone would, the batch is $k$ times as large.
# How the learning rate and the number of steps should then change is the subject of [Section 12.5](../12-optimization/05-minibatch-sgd.ipynb); it is the same question on one device.
# One thing is new: a layer of [batch normalization](../08-modern-cnns/05-batch-norm.ipynb) computes its statistics from what its device sees, the shard.
# Then (13.5.1) fails, because the loss of an example depends on the examples that it is normalized with (Exercise 3).

# %% [markdown]
# ## Collectives
#
# Processes do not see each other's memory.
# They communicate through *collectives*, operations that all processes of a group call together, each with its own tensor.
# A process is known by its *rank*, $r=0,\dots,k-1$.
#
# | collective | before, on rank $r$ | after |
# | --- | --- | --- |
# | *broadcast* | $\mathbf{x}$ on one rank | $\mathbf{x}$ on all |
# | *reduce* | $\mathbf{x}_r$ | $\sum_r\mathbf{x}_r$ on one rank |
# | *all-reduce* | $\mathbf{x}_r$ | $\sum_r\mathbf{x}_r$ on all |
# | *gather* | $\mathbf{x}_r$ | $(\mathbf{x}_0,\dots,\mathbf{x}_{k-1})$ on one rank |
# | *all-gather* | $\mathbf{x}_r$ | $(\mathbf{x}_0,\dots,\mathbf{x}_{k-1})$ on all |
# | *reduce-scatter* | $\mathbf{x}_r$, cut into $k$ parts | part $r$ of $\sum_r\mathbf{x}_r$ on rank $r$ |
# | *barrier* | | no rank goes on before all have come |
#
# A reduce-scatter leaves each part of the sum on one rank, and an all-gather then collects the parts: together they are an all-reduce.
# [Section 13.6](06-ddp-fsdp.ipynb) uses the halves separately.

# %%
def try_collectives():
    """What each collective leaves on this rank, as lists."""
    rank, k = dist.get_rank(), dist.get_world_size()
    x = torch.arange(4.0) + 10 * rank  # (4,)
    one, part = torch.tensor(rank + 1.0), torch.empty(4 // k)
    seen = {name: x.clone() for name in ("broadcast", "reduce", "all-reduce")}
    dist.broadcast(seen["broadcast"], src=0)
    dist.reduce(seen["reduce"], dst=0)
    dist.all_reduce(seen["all-reduce"])
    dist.all_reduce(one)
    parts = [torch.empty(4) for _ in range(k)]
    dist.gather(x, parts if rank == 0 else None, dst=0)
    seen["gather"] = torch.cat(parts)
    dist.reduce_scatter(part, list(x.clone().chunk(k)))
    halves = [torch.empty(2) for _ in range(k)]
    dist.all_gather(halves, x[:2].clone())
    seen |= {"sum of r + 1": one, "reduce-scatter": part,
             "all-gather": torch.cat(halves)}
    both = [torch.empty(4 // k) for _ in range(k)]
    dist.all_gather(both, part)
    seen["reduce-scatter, all-gather"] = torch.cat(both)
    return {name: value.tolist() for name, value in seen.items()
            if rank == 0 or name not in ("reduce", "gather")}


def try_barrier(folder):
    """Whether all ranks find what the last one has left before a barrier."""
    if dist.get_rank() == dist.get_world_size() - 1:
        time.sleep(0.3)
        folder.joinpath("came").touch()
    dist.barrier()
    return folder.joinpath("came").exists()

# %% [markdown]
# ## Data parallelism in processes
#
# Each process runs the same program and learns its rank from the environment.
# Two functions turn a training loop into a data-parallel one.
# The first makes the copies equal.
# The second implements (13.5.1); it packs all gradients into one vector, so a step costs a single all-reduce of $N$ numbers.

# %% tags=["export"]
def broadcast_params(params):
    """Give every rank the parameters of rank 0, in place."""
    for p in params:
        dist.broadcast(p.detach(), src=0)


def allreduce_grads(params, share):
    """Replace the gradients by the sum over ranks of share * gradient.

    Each of `params` has a gradient on every rank.
    """
    grads = [p.grad for p in params]
    flat = share * torch.cat([g.flatten() for g in grads])  # (N,)
    dist.all_reduce(flat)
    parts = flat.split([g.numel() for g in grads])
    for g, part in zip(grads, parts, strict=True):
        g.copy_(part.view_as(g))

# %%
def shared_gradient(net, X, y, sizes, naive=False):
    """Leave the gradient of the whole batch in net, on every rank."""
    rank = dist.get_rank()
    X_own, y_own = X.split(sizes)[rank], y.split(sizes)[rank]
    net.zero_grad()
    F.cross_entropy(net(X_own), y_own).backward()
    share = 1 / len(sizes) if naive else sizes[rank] / sum(sizes)
    allreduce_grads(list(net.parameters()), share)
    return [p.grad.clone() for p in net.parameters()]


def train_on_rank(net, X, y, sizes):
    """SGD with momentum; each rank computes on its part of each batch."""
    params = list(net.parameters())
    broadcast_params(params)
    optimizer = torch.optim.SGD(params, lr=0.05, momentum=0.9)
    batches = zip(X.split(sum(sizes)), y.split(sum(sizes)), strict=True)
    for X_batch, y_batch in batches:
        shared_gradient(net, X_batch, y_batch, sizes)
        optimizer.step()
    state = [optimizer.state[p]["momentum_buffer"] for p in params]
    return [p.detach() for p in params], state

# %% [markdown]
# An all-reduce cannot end before all ranks have called it.
# If one rank is lost, the others fail or wait in vain, and a training like ours has to start again from a checkpoint; [Section 13.6](06-ddp-fsdp.ipynb) kills a run to show it.

# %% [markdown]
# ## Tensor parallelism
#
# Two layers without biases compute $\mathbf{Y}=\phi(\mathbf{X}\mathbf{A})\mathbf{B}$ with $\mathbf{X}\in\mathbb{R}^{n\times d}$, $\mathbf{A}\in\mathbb{R}^{d\times h}$, $\mathbf{B}\in\mathbb{R}^{h\times q}$ and an activation $\phi$ that acts on each entry.
# Cut $\mathbf{A}$ into column blocks $\mathbf{A}_j$ and $\mathbf{B}$ into the matching row blocks $\mathbf{B}_j$.
# Then
#
# $$\mathbf{Y}=\sum_{j=1}^k\phi(\mathbf{X}\mathbf{A}_j)\,\mathbf{B}_j. \tag{13.5.2}$$
#
# Device $j$ needs its two blocks and all of $\mathbf{X}$, and nothing is exchanged before the sum.
# The other order, rows first, would need another sum before $\phi$: in general $\phi$ of a sum is not the sum of the $\phi$.

# %%
rng = torch.Generator().manual_seed(13)
X_in = torch.randn(8, 20, generator=rng)
A = torch.randn(20, 32, generator=rng) / 20**0.5
B = torch.randn(32, 12, generator=rng) / 32**0.5
Y = F.gelu(X_in @ A) @ B
columns = sum(F.gelu(X_in @ A_j) @ B_j
              for A_j, B_j in zip(A.chunk(2, dim=1), B.chunk(2), strict=True))
rows = sum(F.gelu(X_j @ A_j) for X_j, A_j in zip(
    X_in.chunk(2, dim=1), A.chunk(2), strict=True)) @ B
assert max_difference([columns], [Y]) < 1e-5
print(f"rows first is off by {(rows - Y).abs().max():.2f}")
assert (rows - Y).abs().max() > 0.1

# %% [markdown]
# In the backward pass the roles change.
# The gradient of a sum with respect to each summand is that of the sum, so every device needs $\partial L/\partial\mathbf{Y}$ for the loss $L$, and every device has it.
# But $\mathbf{X}$ went to all devices, and each of them contributes to its gradient,
#
# $$\frac{\partial L}{\partial\mathbf{X}}=\sum_{j=1}^k\frac{\partial L}{\partial(\mathbf{X}\mathbf{A}_j)}\mathbf{A}_j^\top\in\mathbb{R}^{n\times d}, \tag{13.5.3}$$
#
# which is a second all-reduce.
# So there are two operations, and each is the backward pass of the other.

# %%
def sum_over_ranks(x):
    """The sum of all ranks' tensors, the same bits on every rank."""
    total = x.clone()
    dist.all_reduce(total)
    return total


class ToRanks(torch.autograd.Function):
    """Forward: X as it is. Backward: the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx, X):
        return X.view_as(X)

    @staticmethod
    def backward(ctx, grad):
        return sum_over_ranks(grad)


class SumOfRanks(torch.autograd.Function):
    """Forward: the sum of all ranks' Y. Backward: the gradient as it is."""

    @staticmethod
    def forward(ctx, Y):
        return sum_over_ranks(Y)

    @staticmethod
    def backward(ctx, grad):
        return grad

# %%
def tensor_parallel_mlp(X, W1, b1, W2, b2):
    """Scores (n, q) on each rank, from its slices W1 (h / k, d), b1 and W2.

    W1 has a slice of the outputs, W2 (q, h / k) of the inputs; the bias b2
    is whole, and added after the sum.
    """
    H = F.gelu(F.linear(ToRanks.apply(X), W1, b1))  # (n, h / k)
    return SumOfRanks.apply(F.linear(H, W2)) + b2  # (n, q)

# %% [markdown]
# PyTorch does the same with `parallelize_module`: `ColwiseParallel` cuts the outputs of a layer, `RowwiseParallel` its inputs.
# The parameters become `DTensor`s, and the all-reduces follow from how they are split.
# `CommDebugMode` counts the collectives called inside it, of every kind; the numbers that all-reduces sum we count ourselves, by looking at each operation that PyTorch dispatches.

# %%
class Traffic(TorchDispatchMode):
    """Counts the all-reduces inside it, and the numbers that they sum."""

    def __init__(self):
        super().__init__()
        self.calls = self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(t.__name__ == "DTensor" for t in types):
            return NotImplemented  # comes back as operations on its parts
        if func.name().split(":")[-1].startswith(("allreduce", "all_reduce")):
            data = args[0] if isinstance(args[0], list) else args[:1]
            self.calls += 1
            self.numbers += sum(x.numel() for x in data)
        return func(*args, **kwargs or {})


def count_traffic(model, X):
    """[Collectives, all-reduces, their numbers] forward and backward.

    Also returns the outputs and the gradient of the inputs.
    """
    from torch.distributed.tensor.debug import CommDebugMode

    X = X.clone().requires_grad_()
    with CommDebugMode() as every, Traffic() as some:
        Y = model(X)
    counts = [[every.get_total_counts(), some.calls, some.numbers]]
    with CommDebugMode() as every, Traffic() as some:
        Y.square().sum().backward()
    counts += [[every.get_total_counts(), some.calls, some.numbers]]
    return counts, Y.detach(), X.grad

# %%
def try_tensor_parallel():
    """Compare both versions with the dense network on this rank."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import (
        ColwiseParallel, RowwiseParallel, parallelize_module)

    rank, k = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(20, 32), nn.GELU(), nn.Linear(32, 12))
    mesh = init_device_mesh(torch.get_default_device().type, (k,))
    split = parallelize_module(copy.deepcopy(dense), mesh, {
        "0": ColwiseParallel(), "2": RowwiseParallel()})
    *own, b2 = (p.detach() for p in dense.parameters())
    own = [x.chunk(k, dim=dim)[rank].clone().requires_grad_()
           for x, dim in zip(own, (0, 0, 1), strict=True)]  # W1, b1, W2
    models = {"dense": dense, "modules": split,
              "by hand": lambda X: tensor_parallel_mlp(X, *own, b2)}
    X, traffic, results = torch.randn(8, 20), {}, {}
    for name, model in models.items():
        traffic[name], *results[name] = count_traffic(model, X)
    results["dense"] += [p.grad.chunk(k, dim=dim)[rank] for p, dim in zip(
        list(dense.parameters())[:3], (0, 0, 1), strict=True)]
    results["modules"] += [p.grad.to_local()
                           for p in list(split.parameters())[:3]]
    results["by hand"] += [x.grad for x in own]
    return {"shape": list(split[0].weight.to_local().shape),
            "traffic": traffic, "outputs": results["by hand"][0].tolist(),
            "difference": {name: max_difference(result, results["dense"])
                           for name, result in results.items()}}

# %% [markdown]
# We run it below, together with the rest.

# %% [markdown]
# ## Pipelines
#
# If the first stage passes on the whole batch, only one stage works at a time.
# So the batch is cut into $m$ *micro-batches* of equal size, which follow each other.
# Each stage adds up their gradients, and the parameters are updated when the last backward pass has ended: the result is the step of the whole batch.
# Letting the pipeline run empty before the next batch enters is called a *flush*.
#
# Let every stage need the time $f$ for the forward pass of a micro-batch and $b$ for the backward pass, and let messages take no time.
# The last of $p$ stages sees its first micro-batch after $(p-1)f$, and its last gradient needs $(p-1)b$ to travel back; in between the stage has to work for $m(f+b)$.
# So the step takes at least $(m+p-1)(f+b)$, in whatever order each stage works through its passes, and several orders reach this.
# Then the fraction
#
# $$\frac{p-1}{m+p-1} \tag{13.5.4}$$
#
# of each device's time, the *bubble*, is idle.
# With four stages it is 75 % for $m=1$, and still 16 % for $m=16$.
#
# The order in which a stage works decides what it stores.
# *GPipe* (Huang and others, 2019) does all forward passes first, so each stage holds $m$ micro-batches at once. (To save memory, it keeps only their inputs and computes the other activations again, as [Section 13.4](04-hardware.ipynb) does with checkpoints.)
# *1F1B*, "one forward, one backward", starts a backward pass as soon as it can; stage $s$ (counted from 0) runs ahead by at most $p-s$ micro-batches, and stores no more than that.
# The order is that of PipeDream (Narayanan and others, 2019), which has no flush and computes with older weights instead; with a flush it was published as DAPPLE (Fan and others, 2020) and as PipeDream-Flush (Narayanan and others, ICML 2021, a preprint of 2020).
#
# [Section 13.3](03-auto-parallelism.ipynb) has a simulator for such questions.
# A stage is a worker, and its order becomes a chain of tasks, each with a cost.

# %%
def stage_order(s, p, m, kind, chunks=1):
    """What stage s does, in order: (operation, part, micro-batch).

    Stage s has the parts s, s + p, ... of the model. Operations are "F"
    and "B"; for kind "zero bubble", "B" is the backward pass to the input
    and "W" the one to the weights. `m` is a multiple of p if "interleaved".
    """
    turns, ahead = [(s, i) for i in range(m)], p - s - 1
    if kind == "GPipe":
        ahead = m
    elif kind == "interleaved" and m % p == 0:
        turns = [(q // p * p + s, i + q % p) for i in range(0, m, p)
                 for q in range(p * chunks)]
        ahead = 2 * (p - s - 1) + (chunks - 1) * p
    elif kind not in ("1F1B", "zero bubble"):
        raise ValueError(f"no schedule {kind!r} of {m} micro-batches")
    ahead = min(ahead, len(turns))
    forward = [("F", part, i) for part, i in turns]
    backward = [("B", (chunks - 1) * p + 2 * s - part, i)
                for part, i in turns]
    weights = [("W", *rest) for _, *rest in backward
               if kind == "zero bubble"]
    order = forward[:ahead]
    for j in range(len(turns) + s):
        order += forward[ahead + j:ahead + j + 1] + backward[j:j + 1]
        order += weights[j - s:j - s + 1] if j >= s else []
    return order

# %%
def pipeline_tasks(p, m, kind, chunks=1):
    """Tasks with names (operation, part, micro-batch); F costs 1, F+B 3."""
    cost = {"F": 1, "B": 1 if kind == "zero bubble" else 2, "W": 1}
    tasks = []
    for s in range(p):
        before = ()
        for op, part, i in stage_order(s, p, m, kind, chunks):
            deps = [("B" if op == "W" else "F", part, i)]
            if op == "F":
                deps = [("F", part - 1, i)] if part else []
            elif op == "B" and part < p * chunks - 1:
                deps.append(("B", part + 1, i))
            tasks.append(Task((op, part, i), cost[op], (*deps, *before), s))
            before = ((op, part, i),)
    return tasks


def pipeline_schedule(p, m, kind, chunks=1):
    """Rows (stage, start, end, (operation, part, micro-batch))."""
    return list_schedule(pipeline_tasks(p, m, kind, chunks), p)


def bubble(rows):
    """The fraction of all stages' time in which they are idle."""
    stages, length = {row[0] for row in rows}, max(row[2] for row in rows)
    busy = sum(end - start for _, start, end, _ in rows)
    return 1 - busy / (length * len(stages))


def stored(rows, stage):
    """Micro-batches that a stage stores, step by step.

    One more when a forward pass begins, one less when the last task that
    needs its activations has ended.
    """
    ops = [row[3][0] for row in rows if row[0] == stage]
    free = "W" if "W" in ops else "B"
    return list(accumulate((op == "F") - (op == free) for op in ops))

# %%
# check 13.5-C7: idle time and storage of the simulated schedules
for m, expected in ((1, 0.75), (4, 0.4286), (16, 0.1579)):
    for kind in ("GPipe", "1F1B"):
        assert abs(bubble(pipeline_schedule(4, m, kind)) - expected) < 5e-5
for p in range(1, 6):
    for m in (1, 2, 3, 4, 7, 16):
        for kind in ("GPipe", "1F1B"):
            rows = pipeline_schedule(p, m, kind)
            assert math.isclose(bubble(rows), (p - 1) / (m + p - 1),
                                abs_tol=1e-12)
            length, _ = critical_path(pipeline_tasks(p, m, kind))
            assert length == max(end for _, _, end, _ in rows)
            for s in range(p):
                assert max(stored(rows, s)) == (
                    m if kind == "GPipe" else min(p - s, m))

# %% [markdown]
# The peak over all stages is $m$ for GPipe and $\min(p,m)$ for 1F1B, on the first stage.
# So 1F1B can cut the batch into more micro-batches, or take a larger batch, and thereby shrink the bubble without storing more.
#
# Two later schedules shrink the bubble at the same $m$.
# The *interleaved* one (Narayanan and others, SC 2021) gives each device $v$ shorter stages that are not neighbours, for instance layers 1 and 5; filling the pipeline takes only $\frac1v$ of the time, but there are more than $v$ times as many messages, and here every stage stores more.
# The other splits the backward pass: a neighbour waits for the gradient with respect to a stage's input, but nothing waits for the gradient of its weights before the end of the step, so it can fill gaps (Qi and others, 2024).
# We take the schedule that they call ZB-H1: each stage stores at most $p$ micro-batches, as the first one does in 1F1B, and if the three passes take equal time and $m\ge p$, the idle time is a third of that of 1F1B.
# The name "zero bubble" fits their schedule ZB-H2 better: if the three passes take equal time and there are enough micro-batches, it has no idle time left, but it stores up to $2p-1$ micro-batches, and no stage may wait for the others at the update.

# %%
length, held = {}, {}
for kind, chunks in (("GPipe", 1), ("1F1B", 1), ("interleaved", 2),
                     ("zero bubble", 1)):
    rows = pipeline_schedule(4, 8, kind, chunks)
    length[kind] = max(end for _, _, end, _ in rows) / chunks
    peaks = [max(stored(rows, s)) / chunks for s in range(4)]
    held[kind] = peaks
    print(f"{kind:12s} length {length[kind]:4.1f}, bubble "
          f"{bubble(rows):.3f}, stored {peaks}")

# %%
for p, m in ((2, 4), (3, 3), (4, 8), (5, 10)):
    for v in (2, 3):
        rows = pipeline_schedule(p, m, "interleaved", v)
        assert math.isclose(bubble(rows), (p - 1) / (v * m + p - 1))
        assert [max(stored(rows, s)) for s in range(p)] == [
            min(2 * (p - s) - 1 + (v - 1) * p, v * m) for s in range(p)]
    rows = pipeline_schedule(p, m, "zero bubble")  # needs m >= p
    assert max(end for _, _, end, _ in rows) == 3 * m + p - 1
    assert all(max(stored(rows, s)) == p for s in range(p))
for m, kind in ((6, "interleaved"), (8, "1B1F")):
    try:
        pipeline_schedule(4, m, kind)
    except ValueError as error:
        print(error)
    else:
        raise AssertionError("a schedule that does not exist")
work = 3 * 8  # of each stage, 8 micro-batches
assert 3 * (length["zero bubble"] - work) == length["1F1B"] - work
assert length["zero bubble"] < length["interleaved"] < length["1F1B"]
assert length["1F1B"] == length["GPipe"] and held["zero bubble"] == [4] * 4
assert all(a > b for a, b in zip(held["interleaved"], held["1F1B"],
                                 strict=True))

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 2, figsize=(10, 6), layout="constrained",
                         width_ratios=[4, 1], sharex="col")
words = {"F": "forward", "B": "backward", "W": "weights"}
for (ax, right), kind in zip(axes, ("GPipe", "1F1B", "zero bubble"),
                             strict=True):
    rows = sorted(pipeline_schedule(4, 8, kind),
                  key=lambda row: "FBW".index(row[3][0]))
    stages = sorted(rows, key=lambda row: row[0])
    gantt([(f"stage {s}", a, b, i + 1) for s, a, b, (_, _, i) in stages], ax,
          groups=[words[op] for *_, (op, _, _) in stages],
          xlabel="time" if kind == "zero bubble" else "")
    ax.set_title(kind, loc="right", fontsize=10)
    for s, style in ((0, "-"), (3, "--")):
        rows = pipeline_schedule(4, 8, kind)
        times = [row[1] if row[3][0] == "F" else row[2]
                 for row in rows if row[0] == s]
        last = dict(zip(times, stored(rows, s), strict=True))
        right.step(list(last), list(last.values()), style, where="post",
                   label=f"stage {s}")
    right.set(ylabel="stored", ylim=(0, 10), yticks=[0, 4, 8])
axes[2, 1].set_xlabel("time")
axes[1, 1].legend(fontsize=8, loc="upper right")
fig.get_layout_engine().set(wspace=0.06)
d2l.describe(fig, """Three timelines of four stages and eight micro-batches.
    GPipe: all forward passes, then all backward passes, with a gap in the
    middle of the early stages. 1F1B: forward and backward passes alternate;
    the length is the same. Zero bubble: weight passes fill gaps, and it ends
    earlier. Right: GPipe stores up to eight micro-batches, the others
    four.""")

# %% [markdown]
# **Figure 13.5.2.** Four stages, eight micro-batches; a whole backward pass takes as long as two forward passes.
# Right: micro-batches whose activations the first and the last stage store.
# GPipe and 1F1B end at the same time; the third schedule ends earlier, and stores as much as 1F1B on the first stage and more on the last.
#
# All of this assumes equal stages.
# If one of four stages takes twice the time, the others wait for it however many micro-batches there are.

# %%
def with_slow_stage(m, factor=2):
    tasks = [replace(t, cost=factor * t.cost) if t.worker == 1 else t
             for t in pipeline_tasks(4, m, "1F1B")]
    return bubble(list_schedule(tasks, 4))


idle = [with_slow_stage(m) for m in (16, 128)]
print(f"idle with a stage of twice the time: {idle[0]:.3f} and {idle[1]:.3f}")
assert 3 / 8 < idle[1] < 0.39 < idle[0]  # three of four wait half the time
assert bubble(pipeline_schedule(4, 128, "1F1B")) < 0.03

# %% [markdown]
# `torch.distributed.pipelining` has these schedules.
# A `PipelineStage` wraps the layers of a rank; `schedule.step` runs the micro-batches, sends and receives, and averages the gradients.
# A hook counts how many micro-batches a rank stores.

# %%
def try_pipeline(Schedule, m=4):
    """Error of this rank's gradients, and most micro-batches stored."""
    from torch.distributed.pipelining import PipelineStage

    rank, count = dist.get_rank(), [0]
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 10))
    X, y = torch.randn(16, 20), torch.randint(10, (16,))
    layers = slice(0, 2) if rank == 0 else slice(2, 3)
    part = copy.deepcopy(net[layers])
    F.cross_entropy(net(X), y).backward()  # the whole network on one device

    def watch(module, inputs, output):
        count.append(count[-1] + 1)
        output.register_hook(lambda g: count.append(count[-1] - 1))

    part.register_forward_hook(watch)
    stage = PipelineStage(part, rank, 2, torch.get_default_device())
    schedule = Schedule(stage, m, loss_fn=F.cross_entropy)
    for _ in range(2):  # the first call also finds out the shapes
        part.zero_grad()
        count[:] = [0]
        schedule.step(*([X] if rank == 0 else []), target=y)
    return max_difference([p.grad for p in part.parameters()],
                          [p.grad for p in net[layers].parameters()]
                          ), max(count), count[-1]

# %% [markdown]
# ## All of it in two processes
#
# Now we run data, tensor and pipeline parallelism, and compare each with a single device.
# The script is put together from the functions above and a few lines that call them.
# Each rank starts training from its own seed, which gives the broadcast something to do.

# %% tags=["hide-input"]
imports = """
import copy, json, sys, time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import Schedule1F1B, ScheduleGPipe
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
"""

# %%
main = """
cuda, here = sys.argv[1] == "cuda", Path(__file__).parent
dist.init_process_group("nccl" if cuda else "gloo")
rank = dist.get_rank()
if cuda:
    torch.cuda.set_device(rank)
    torch.set_default_device(torch.device("cuda", rank))
X, y = torch.load(here / "data.pt", map_location=torch.get_default_device())

seen = {"collectives": try_collectives(), "barrier": try_barrier(here)}
saved = {}
for name, sizes in (("even", [32, 32]), ("uneven", [48, 16])):
    saved[name + " params"], saved[name + " momentum"] = train_on_rank(
        small_lenet(seed=rank), X, y, sizes)
with CommDebugMode() as every, Traffic() as some:
    for name, sizes, naive in (("even", [32, 32], False),
                               ("weighted", [48, 16], False),
                               ("naive", [48, 16], True)):
        saved[name] = shared_gradient(small_lenet(), X[:64], y[:64], sizes,
                                      naive)
seen["traffic"] = [every.get_total_counts(), some.calls, some.numbers]
seen["tensor"] = try_tensor_parallel()
seen["GPipe"] = try_pipeline(ScheduleGPipe)
seen["1F1B"] = try_pipeline(Schedule1F1B)
try:
    seen["norm"] = str(nn.SyncBatchNorm(3)(torch.randn(4, 3)).shape)
except ValueError as error:
    seen["norm"] = str(error)

torch.save(saved, here / f"rank{rank}.pt")
everyone = [None] * dist.get_world_size()
dist.all_gather_object(everyone, seen)
if rank == 0:
    print(json.dumps(everyone))
dist.destroy_process_group()
"""

# %%
script = d2l.write_script(
    "ddp_scratch.py", imports, small_lenet, max_difference, try_collectives,
    try_barrier, broadcast_params, allreduce_grads, shared_gradient,
    train_on_rank, sum_over_ranks, ToRanks, SumOfRanks, tensor_parallel_mlp,
    Traffic, count_traffic, try_tensor_parallel, try_pipeline, main)
torch.save((images, labels), script.with_name("data.pt"))
ranks = json.loads(d2l.torchrun(script, nproc=2, args=["cpu"]).stdout)
saved = [torch.load(script.with_name(f"rank{r}.pt")) for r in range(2)]
seen = [rank["collectives"] for rank in ranks]
for name in seen[0]:
    print(f"{name:26s}", *(values.get(name, "") for values in seen))

# %%
# check 13.5-C1: the sum of r + 1 is 3 on both ranks
assert [r["sum of r + 1"] for r in seen] == [3, 3]

# %%
# check 13.5-C5: from (0, 1, 2, 3) on rank 0 and (10, 11, 12, 13) on rank 1
assert [r["reduce-scatter"] for r in seen] == [[10, 12], [14, 16]]
for r in seen:
    assert r["all-gather"] == [0, 1, 10, 11]
    assert r["broadcast"] == [0, 1, 2, 3]
    assert r["all-reduce"] == [10, 12, 14, 16]
    assert r["reduce-scatter, all-gather"] == r["all-reduce"]
assert seen[0]["reduce"] == [10, 12, 14, 16]
assert seen[0]["gather"] == [0, 1, 2, 3, 10, 11, 12, 13]
assert all(rank["barrier"] for rank in ranks)  # rank 0 has waited for 1

# %% [markdown]
# The two columns are the two ranks.
# Is data-parallel training the training of a single process?

# %%
# check 13.5-C3: all steps in two processes and in one
def train_alone(net, X, y, batch_size=64):
    """The same training without any other process."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for X_batch, y_batch in zip(X.split(batch_size), y.split(batch_size),
                                strict=True):
        optimizer.zero_grad()
        F.cross_entropy(net(X_batch), y_batch).backward()
        optimizer.step()
    return [p.detach() for p in net.parameters()]


alone = train_alone(small_lenet(), images, labels)
start = [p.detach() for p in small_lenet().parameters()]
print(f"moved {max_difference(alone, start):.3f}")
for shards in ("even", "uneven"):
    first, second = (own[shards + " params"] for own in saved)
    print(f"{shards}: differs {max_difference(alone, first):.1e}")
    assert max_difference(alone, first) < 1e-6
    assert max_difference(first, second) == 0
assert max_difference(alone, start) > 1e-3

# %% [markdown]
# With shards of 32 and 32 as with shards of 48 and 16, the two ranks hold identical parameters, to the last bit, though they started from different seeds.
# One process gets the same up to rounding, as it adds the terms of the gradient in another order.
#
# What would the plain mean of the gradients give for shards of 48 and 16?

# %%
# check 13.5-C4: unequal shards, with the weights of (13.5.1) and without
net.zero_grad()
for part in (slice(0, 48), slice(48, 64)):  # the mean of two mean losses
    (F.cross_entropy(net(X[part]), y[part]) / 2).backward()
other = [p.grad for p in net.parameters()]
scale = max(g.abs().max().item() for g in full)
error = {name: max_difference(saved[0][name], full)
         for name in ("even", "weighted", "naive")}
for name, value in error.items():
    print(f"{name:9s} off by {value:.1e}, largest gradient {scale:.2f}")
assert error["even"] < 1e-6 and error["weighted"] < 1e-6
assert error["naive"] > scale / 10
assert max_difference(saved[0]["naive"], other) < 1e-6
# in these three steps, one all-reduce each, of all N numbers
assert ranks[0]["traffic"] == [3, 3, 3 * count_params(net)]

# %% [markdown]
# The weighted sum is exact up to rounding.
# The mean of means is off by much more than a tenth of the largest entry of the gradient: it is the gradient of another loss, the mean of the two mean losses.
#
# For batch normalization PyTorch has `SyncBatchNorm`, which exchanges the statistics.
# On CPU tensors it refuses to run:

# %%
print(ranks[0]["norm"])
assert ranks[0]["norm"].startswith("SyncBatchNorm expected")

# %%
# check 13.5-C6: outputs and gradients; one all-reduce each way
print(*ranks[0]["tensor"]["traffic"].items(), sep="\n")
for rank in ranks:
    report = rank["tensor"]
    assert report["shape"] == [16, 20]  # half of (32, 20)
    assert max(report["difference"].values()) < 1e-6
    assert report["traffic"]["dense"] == [[0, 0, 0], [0, 0, 0]]
    for name in ("by hand", "modules"):  # Y forward, the gradient of X back
        assert report["traffic"][name] == [[1, 1, 8 * 12], [1, 1, 8 * 20]]
    assert report["outputs"] == ranks[0]["tensor"]["outputs"]

# %%
# check 13.5-C7: gradients of the whole network, and stored micro-batches
for r, rank in enumerate(ranks):
    for kind in ("GPipe", "1F1B"):
        difference, peak, left = rank[kind]
        print(f"rank {r}, {kind}: off by {difference:.1e}, stored {peak}")
        assert difference < 1e-6 and left == 0
        assert peak == max(stored(pipeline_schedule(2, 4, kind), r))

# %% [markdown]
# Both versions of the split layers, with half of the weights on each rank, give the outputs and the gradients of the dense network, with one all-reduce in the forward and one in the backward pass: of the entries of $\mathbf{Y}$, and of the gradient of $\mathbf{X}$.
# The outputs are the same on both ranks to the last bit, as they must be if layers that are not split follow: their copies would drift apart otherwise.
# A transformer block has two such pairs, as the heads of attention can be divided like the columns of a layer: two all-reduces forward and two backward (Shoeybi and others, 2019).
# The gradients of both pipelines are those of the whole network, and PyTorch's schedules stored as many micro-batches as the simulated ones.

# %% [markdown]
# Gloo is the library that carries these messages between CPUs; between NVIDIA GPUs it is NCCL.
# The script is written for both: where there are two GPUs, each process takes one, and the result is compared with training on one of them.

# %%
if num_gpus() >= 2 and torch.cuda.is_available():
    d2l.torchrun(script, nproc=2, args=["cuda"])
    on_gpus = torch.load(script.with_name("rank0.pt"))["even params"]
    with torch.device("cuda"):  # other random weights than on the CPU
        on_one = train_alone(small_lenet(), images.cuda(), labels.cuda())
    print("differs by", max_difference(on_one, on_gpus))
else:
    print("Fewer than two CUDA devices: the script ran on the CPU only.")

# %% [markdown]
# ## Summary
#
# - Data parallelism sums gradients with the weights $n_j/n$; the mean of means is the gradient of another loss unless the shards are equal.
# - Copies that start equal and apply the same sum stay equal to the bit; one all-reduce of $N$ numbers per step is enough.
# - An all-reduce is a reduce-scatter followed by an all-gather.
# - A pair of dense layers, split by columns and then by rows, needs one all-reduce forward and one backward; it exchanges activations, so its traffic grows with the batch.
# - With equal stages, GPipe and 1F1B idle for the same fraction $\frac{p-1}{m+p-1}$; they differ in what they store, at most $m$ against $\min(p,m)$ micro-batches.
# - Batch normalization breaks the equality with one device, and unequal stages the formula for the bubble.

# %% [markdown]
# ## Exercises
#
# ### Exercise 13.5-1
#
# Let the other three of $k=4$ devices send their gradients to device 0, which sends back the sum.
# How many numbers does device 0 send and receive?
# Now let each device sum a different part of the gradient.
# Compare a division by whole tensors with one of the flat vector into equal slices.

# %% [markdown]
# #### Solution 13.5-1

# %% [markdown]
# The owner of a part receives it from $k-1$ devices and sends the sum to as many; each other device sends and receives it once.
# Device 0, as the only owner, sends and receives $2(k-1)N$ numbers together.
# With equal slices each device has $2(k-1)\frac Nk$ as an owner and as much as a client, together $4(k-1)\frac Nk$: for $k=4$ half of what device 0 had.
# Whole tensors help little here, because one matrix holds most of the parameters of `small_lenet`.
# [Section 13.7](07-parameter-server.ipynb) starts from this idea.

# %%
def sum_at_owners(vectors, owners):
    """Sums (N,) and numbers sent and received by each of k devices.

    owners: a device for each of the N entries.
    """
    k, total = len(vectors), torch.zeros_like(vectors[0])
    traffic = [0] * k
    for owner in range(k):
        mine = owners == owner
        for client in range(k):
            total[mine] += vectors[client][mine]
            if client != owner:
                for device in (client, owner):  # there and back
                    traffic[device] += 2 * int(mine.sum())
    return total, traffic


sizes = [p.numel() for p in net.parameters()]
N, k = sum(sizes), 4
rng = torch.Generator().manual_seed(1)
vectors = [torch.randn(N, generator=rng) for _ in range(k)]
load, by_tensor = [0] * k, [None] * len(sizes)
for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
    by_tensor[i] = load.index(min(load))  # to the device with least
    load[by_tensor[i]] += sizes[i]
plans = {"device 0": torch.zeros(N, dtype=torch.long),
         "tensors": torch.tensor(by_tensor).repeat_interleave(
             torch.tensor(sizes)),
         "slices": torch.arange(N) * k // N}
most = {}
for name, owners in plans.items():
    total, traffic = sum_at_owners(vectors, owners)
    most[name] = max(traffic)
    torch.testing.assert_close(total, sum(vectors))
    print(f"{name:8s} at most {most[name]} numbers")
assert most["device 0"] == 2 * (k - 1) * N
assert most["slices"] == 4 * (k - 1) * N // k and N % k == 0
assert most["slices"] < most["tensors"] < most["device 0"]

# %% [markdown]
# ### Exercise 13.5-2
#
# Implement all-reduce from reduce-scatter and all-gather, for $k$ devices in a list and vectors of any length.

# %% [markdown]
# #### Solution 13.5-2

# %% [markdown]
# Zeros at the end make the length a multiple of $k$; they are cut off again.

# %%
def reduce_scatter(data):
    """Part r of the sum for each rank r; the length is a multiple of k."""
    k = len(data)
    return [sum(x.chunk(k)[r] for x in data) for r in range(k)]


def all_gather(data):
    """All parts in one vector, for each rank."""
    return [torch.cat(data) for _ in data]


def allreduce_in_two(data):
    """The sum of vectors (n,), for each rank."""
    n, k = len(data[0]), len(data)
    padded = [F.pad(x, (0, -n % k)) for x in data]
    return [x[:n] for x in all_gather(reduce_scatter(padded))]


rng = torch.Generator().manual_seed(2)
for k in (1, 2, 3, 4):
    for n in (1, 4, 10):
        data = [torch.randn(n, generator=rng) for _ in range(k)]
        result = allreduce_in_two(data)
        allreduce(data)
        for x, expected in zip(result, data, strict=True):
            torch.testing.assert_close(x, expected)

# %% [markdown]
# ### Exercise 13.5-3
#
# Normalize a batch on two logical devices, once with the statistics of each shard and once with moments that are all-reduced.
# Which of them gives the outputs and the gradients of a single device?

# %% [markdown]
# #### Solution 13.5-3

# %% [markdown]
# The shards have other means and variances than the batch.
# If $\frac1n\sum x$ and $\frac1n\sum x^2$ are summed over the devices, the outputs agree, and so do the gradients if the sums are part of the graph.
# A version that takes the summed moments as constants has the right outputs and wrong gradients.

# %%
def normalize(shards, moments):
    """Normalize shards (n_j, d) with the statistics that moments gives."""
    return torch.cat([(x - mean) / (square - mean**2 + 1e-5).sqrt()
                      for x, (mean, square) in zip(
                          shards, moments(shards), strict=True)])


def local(shards):
    return [(x.mean(dim=0), x.square().mean(dim=0)) for x in shards]


def reduced(shards):
    n = sum(map(len, shards))
    mean, square = (sum(len(x) / n * m[j] for x, m in zip(
        shards, local(shards), strict=True)) for j in (0, 1))
    return [(mean, square)] * len(shards)


def constants(shards):
    return [(mean.detach(), square.detach())
            for mean, square in reduced(shards)]


rng = torch.Generator().manual_seed(3)
batch = torch.randn(16, 5, generator=rng).double().requires_grad_()
weight = torch.randn(16, 5, generator=rng).double()
result = {}
for name, moments in (("one device", reduced), ("local", local),
                      ("reduced", reduced), ("constants", constants)):
    shards = [batch] if name == "one device" else batch.split([10, 6])
    out = normalize(shards, moments)
    grad, = torch.autograd.grad((weight * out).sum(), batch)
    result[name] = out.detach(), grad
out = F.batch_norm(batch, None, None, training=True)
grad, = torch.autograd.grad((weight * out).sum(), batch)
assert max_difference(result["one device"], [out, grad]) < 1e-12

# %%
off = {name: [max_difference([a], [b]) for a, b in zip(
    pair, result["one device"], strict=True)] for name, pair in
    result.items()}
assert max(off["reduced"]) < 1e-12 and min(off["local"]) > 0.05
assert off["constants"][0] < 1e-12 and off["constants"][1] > 0.05

# %% [markdown]
# ### Exercise 13.5-4
#
# Four devices evaluate 101 examples.
# Why is the mean of their accuracies not the accuracy, and what should they exchange?

# %% [markdown]
# #### Solution 13.5-4

# %% [markdown]
# The shards have 26, 25, 25 and 25 examples, and with batches of 10 the last one of each device has 6 or 5.
# The mean of the four accuracies gives an example in a shard of 25 more weight than one in the shard of 26; only with equal shards is it sure to be the accuracy.
# Counts add up: exchange the number of correct answers and the number of examples, as integers, and divide at the end.
# Padding the shards to equal length, as PyTorch's `DistributedSampler` does by default, counts some examples twice.

# %%
rng = torch.Generator().manual_seed(4)
scores = torch.randn(101, 10, generator=rng)
targets = torch.randint(10, (101,), generator=rng)
targets[:30] = scores[:30].argmax(dim=1)  # right on the first device
counts, ratios = [], []
for S, t in split_batch(scores, targets, 4):
    count = torch.zeros(2, dtype=torch.long)  # correct, seen
    for S_batch, t_batch in zip(S.split(10), t.split(10), strict=True):
        correct = S_batch.argmax(dim=1) == t_batch
        count += torch.tensor([int(correct.sum()), len(t_batch)])
    counts.append(count)
    ratios.append(count[0] / count[1])
allreduce(counts)
right = int((scores.argmax(dim=1) == targets).sum())
assert all(c.tolist() == [right, 101] for c in counts)
mean = sum(ratios).item() / 4
print(f"accuracy {right / 101:.4f}, mean of four {mean:.4f}")
assert abs(mean - right / 101) > 1e-3

# %% [markdown]
# ### Exercise 13.5-5
#
# Do the momentum buffers have to be exchanged?
# Look at those that the two processes saved, and find a situation in which they would differ.

# %% [markdown]
# #### Solution 13.5-5

# %% [markdown]
# No: a buffer is a function of its start and of the gradients, and these are equal on all ranks.
# The saved buffers agree to the bit.
# They would differ if only one rank restored its optimizer from a checkpoint, and from then on the parameters would differ too.
# Load the checkpoint on all ranks, or broadcast what one rank has loaded.

# %%
buffers = [own["even momentum"] for own in saved]
assert max_difference(*buffers) == 0
assert max(v.abs().max() for v in buffers[0]) > 0


def momentum_steps(x, v, gradients):
    for g in gradients:
        v = 0.9 * v + g
        x = x - 0.1 * v
    return x


gradients = torch.randn(10, 3, generator=torch.Generator().manual_seed(5))
x, v = torch.zeros(3), torch.ones(3)
same = momentum_steps(x, v, gradients), momentum_steps(x, v, gradients)
assert torch.equal(*same)
lost = momentum_steps(x, torch.zeros(3), gradients)  # an empty buffer
assert (lost - same[0]).abs().min() > 0.1

# %% [markdown]
# ## Sources
#
# - M. Shoeybi et al., *Megatron-LM: training multi-billion parameter language models using model parallelism* (2019), [arXiv:1909.08053](https://arxiv.org/abs/1909.08053): column and row splits, two all-reduces each way in a transformer block.
# - Y. Huang et al., *GPipe: efficient training of giant neural networks using pipeline parallelism*, NeurIPS 2019, [arXiv:1811.06965](https://arxiv.org/abs/1811.06965).
# - D. Narayanan et al., *PipeDream: generalized pipeline parallelism for DNN training*, SOSP 2019, [doi:10.1145/3341301.3359646](https://doi.org/10.1145/3341301.3359646): 1F1B, without a flush.
# - S. Fan et al., *DAPPLE: a pipelined data parallel approach for training large models* (2020), [arXiv:2007.01045](https://arxiv.org/abs/2007.01045): early backward passes with a flush.
# - D. Narayanan et al., *Memory-efficient pipeline-parallel DNN training*, ICML 2021, [arXiv:2006.09503](https://arxiv.org/abs/2006.09503): PipeDream-Flush, which is 1F1B with a flush.
# - D. Narayanan et al., *Efficient large-scale language model training on GPU clusters using Megatron-LM*, SC 2021, [arXiv:2104.04473](https://arxiv.org/abs/2104.04473): the interleaved schedule, and how the three ways are combined.
# - P. Qi, X. Wan, G. Huang and M. Lin, *Zero bubble pipeline parallelism*, ICLR 2024, [arXiv:2401.10241](https://arxiv.org/abs/2401.10241): split backward passes, ZB-H1.
# - V. Korthikanti et al., *Reducing activation recomputation in large transformer models* (2022), [arXiv:2205.05198](https://arxiv.org/abs/2205.05198): sequence parallelism.
# - H. Liu, M. Zaharia and P. Abbeel, *Ring attention with blockwise transformers for near-infinite context* (2023), [arXiv:2310.01889](https://arxiv.org/abs/2310.01889): context that is split over devices.
# - D. Lepikhin et al., *GShard: scaling giant models with conditional computation and automatic sharding* (2020), [arXiv:2006.16668](https://arxiv.org/abs/2006.16668): experts on different devices.
# - A. Grattafiori et al., *The Llama 3 herd of models* (2024), [arXiv:2407.21783](https://arxiv.org/abs/2407.21783): four kinds of parallelism in one training.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning* (2023), [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the three ways to split, and training with `allreduce` on a list.
