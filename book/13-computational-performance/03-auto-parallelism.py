# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         num_graphs: 20
#         item_seconds: 0.02
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
# # 13.3 Automatic parallelism
#
# A training step is a graph of many operations, and some of them do not need each other.
# How much faster can the step become if everything that may run at the same time does, and who sees to it?
# We build a small scheduler, prove what it guarantees, and use it to predict where overlap pays: between copies and computation, between the exchange of gradients and the backward pass, between loading and training.
#
# **You will**
#
# - find the critical path of a computation graph, and bound its time on $p$ workers from both sides;
# - read Amdahl's law as the worst case of that bound;
# - predict how much time is saved when copies, exchanges and data loading overlap with computation, and measure it for loading, with controls that tell overlap from parallel loading;
# - say when threads help in Python, and what PyTorch does not run side by side unless told.
#
# **Cost**: about half a minute on a CPU, much of it asleep; no download. One cell uses a GPU where there is one.

# %%
import json
import math
import random
import sys
import threading
import time
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from itertools import permutations, product

import matplotlib.pyplot as plt
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils.data import DataLoader

import d2l_helpers as d2l
from d2l_helpers.chapters.computational_performance import gantt
from d2l_helpers.chapters.modern_cnns import Inception

d2l.use_style()

# %% tags=["parameters"]
num_graphs = 200  # random graphs on which the bounds are checked
item_seconds = 0.05  # what it takes to load an item

# %% [markdown]
# ## A graph knows what is independent
#
# A program is a list of statements, one after the other.
# The graph of what uses what says less: it only names, for each operation, those that have to be done before.
# If nothing is missing from it, shared memory and shared random numbers included, any order that respects it gives the same result, and so do several operations at once.

# %% tags=["export"]
@dataclass(frozen=True)
class Task:
    """A piece of work that may begin when its predecessors are done.

    `name` is any hashable value but None, `cost` a time, and `deps` a
    tuple of the names of the tasks to wait for. If `worker` is given, only
    the worker of that name may run the task. Among tasks that could begin
    at the same time, one with a higher `priority` goes first.
    """

    name: Hashable
    cost: float = 1
    deps: tuple = ()
    worker: Hashable = None
    priority: float = 0

# %% [markdown]
# As an example take a network of two layers, trained on two GPUs with half of the batch on each.
# The CPU reads a batch; each half is copied to its GPU over a link (`x`); then come the two layers forward (`F1`, `F2`), and backward the gradients of the weights (`W2`, `W1`) and the one that the second layer hands down (`D2`).
# The gradients of the weights travel back (`s2`, `s1`) and are summed on the CPU.
# The costs are made up.

# %%
def two_gpus(send=3):
    """One training step of two layers on two GPUs, as a list of tasks."""
    tasks = [Task("read", 2, worker="CPU")]
    for i in (0, 1):
        lane, link = f"GPU {i}", f"link {i}"
        tasks += [Task(f"x.{i}", 1, ("read",), link),
                  Task(f"F1.{i}", 2, (f"x.{i}",), lane),
                  Task(f"F2.{i}", 2, (f"F1.{i}",), lane),
                  Task(f"W2.{i}", 2, (f"F2.{i}",), lane),
                  Task(f"D2.{i}", 2, (f"F2.{i}",), lane),
                  Task(f"W1.{i}", 2, (f"D2.{i}",), lane),
                  Task(f"s2.{i}", send, (f"W2.{i}",), link),
                  Task(f"s1.{i}", send, (f"W1.{i}",), link)]
    return tasks + [Task(f"sum{j}", 1, (f"s{j}.0", f"s{j}.1"), "CPU")
                    for j in (2, 1)]


job, lanes = two_gpus(), ["link 0", "GPU 0", "CPU", "GPU 1", "link 1"]

# %% tags=["hide-input"]
def draw_graph(tasks, lanes, path):
    """Boxes at their earliest start, one line per lane, and arrows."""
    ax = plt.subplots(figsize=(8, 2.9), layout="constrained")[1]
    start, table = {}, {task.name: task for task in tasks}
    for task in tasks:  # the list has predecessors first
        ends = [start[d] + table[d].cost for d in task.deps]
        start[task.name] = max(ends, default=0)
    box = {name: (start[name] + table[name].cost / 2,
                  lanes.index(table[name].worker)
                  + 0.36 * (name[0] in "WD") * (1 if name[0] == "W" else -1))
           for name in start}
    for task in tasks:
        for d in task.deps:
            hot = {d, task.name} <= set(path)
            ax.annotate("", box[task.name], box[d], arrowprops=dict(
                arrowstyle="->", lw=2.2 if hot else 0.8, shrinkA=13,
                shrinkB=13, color="C1" if hot else "0.55"))
    for name, (x, y) in box.items():
        hot = name in path
        ax.text(x, y, name, ha="center", va="center", fontsize=8,
                color="black", bbox=dict(
                    boxstyle="round", fc="#ffd9a0" if hot else "#dde6f0",
                    ec="C1" if hot else "0.5", lw=2 if hot else 0.8))
    ax.set(xlabel="earliest time", ylim=(len(lanes) - 0.4, -0.6), xlim=(
        0, max(start[task.name] + task.cost for task in tasks) + 0.5))
    ax.set_yticks(range(len(lanes)), lanes)
    ax.grid(visible=False)
    return ax


by_eye = "read x.0 F1.0 F2.0 D2.0 W1.0 s1.0 sum1".split()
ax = draw_graph(job, lanes, by_eye)
d2l.describe(ax, """A graph in five rows for a CPU, two GPUs and two links.
    From the task that reads a batch two equal branches lead to the two sums;
    one path through the first branch is drawn thick.""")

# %% [markdown]
# **Figure 13.3.1.** A training step on two GPUs, each task at the earliest time that the graph allows.
# Thick: a longest path. `W2` and its transfer `s2` are not on it.
#
# Two numbers of a graph are enough to bound its time.
# The *work* $W$ is the sum of all costs, the time of a single worker.
# The *span* $S$ is the length of the longest path, the *critical path*; no number of workers does it in less, because a path is done one task after the other.

# %% tags=["export", "hide-input"]
def task_table(tasks):
    """Name -> task; raises ValueError for a graph that makes no sense."""
    table = {task.name: task for task in tasks}
    if len(table) < len(tasks) or not tasks:
        raise ValueError("there is no task, or two have the same name")
    for task in tasks:
        if not task.cost >= 0:  # neither negative nor nan
            raise ValueError(f"{task.name!r} has the cost {task.cost}")
        for name in task.deps:
            if name not in table:
                raise ValueError(f"{task.name!r} waits for {name!r}, which "
                                 "is no task")
    return table


# %% tags=["export"]
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

# %%
work = sum(task.cost for task in job)
span, path = critical_path(job)
print(f"work {work}, span {span}:", " -> ".join(path))
assert work == 38 and span == 15 == sum(
    task.cost for task in job if task.name in path)
assert [n[:2] for n in path] == [n[:2] for n in by_eye]  # on either GPU

# %% [markdown]
# Real graphs can be had from PyTorch: `torch.fx` records the operations of a module as a graph ([Section 13.1](01-compile.ipynb) does so for compiled code).
# The Inception block of [Section 8.4](../08-modern-cnns/04-googlenet.ipynb) has four branches side by side.
# With multiplications as the costs of its convolutions and one unit per output elsewhere:

# %%
block = Inception(64, (96, 128), (16, 32), 32)
X = torch.zeros(1, 192, 28, 28)
block(X)  # gives the lazy layers their shapes
traced = fx.symbolic_trace(block)
ShapeProp(traced).propagate(X)
modules, branches = dict(traced.named_modules()), []
for node in traced.graph.find_nodes(op="call_module") + \
        traced.graph.find_nodes(op="call_function", target=torch.cat):
    cost = node.meta["tensor_meta"].shape.numel()
    if isinstance(conv := modules.get(node.target), nn.Conv2d):
        cost *= conv.weight[0].numel()
    deps = [a.name for a in node.all_input_nodes if a.op != "placeholder"]
    branches.append(Task(node.name, cost, tuple(deps)))
length, longest = critical_path(branches)
gain = sum(task.cost for task in branches) / length
print(f"{len(branches)} tasks, W / S = {gain:.2f}:", " -> ".join(longest))
assert len(branches) == 14 and 1.2 < gain < 1.3
assert max(t.cost for t in branches) > sum(t.cost for t in branches) / 2

# %% [markdown]
# Four branches, and yet no schedule of these operations is even 1.3 times faster than one after the other: in this measure one $3\times3$ convolution, in the second branch, is more than half of the work.
# For more, operations on this path have to be divided themselves, as a GPU does.
#
# ## Greedy schedules
#
# A schedule says which worker begins which task when.
# *List scheduling* is the simplest rule: whenever a worker is idle, it takes the first task of the list that is ready.
# Such a schedule is *greedy*: no worker is idle while there is a ready task that it may run.
# Ours can also bind a task to one worker, as the example needs, and give it a priority.

# %% tags=["export"]
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

# %%
def makespan(rows):
    """When the last task of a schedule ends."""
    return max(end for _, _, end, _ in rows)


rows = list_schedule(job, lanes)
own = {task.name: task.worker for task in job}
alone = list_schedule([replace(task, worker=None) for task in job], 1)
serial = [(own[name], start, end, name) for _, start, end, name in alone]
down_first = [replace(task, priority=int(task.name[0] == "D"))
              for task in job]
print("one at a time", makespan(serial), "- five lanes", makespan(rows),
      "- with D2 before W2", makespan(list_schedule(down_first, lanes)))
assert makespan(serial) == work and makespan(rows) == 17
assert makespan(list_schedule(down_first, lanes)) == 18
for apart, total in ((("W2",), 16), (("s2",), 17), (("W2", "s2"), span)):
    freed = [replace(task, worker=task.name) if task.name[:2] in apart
             else task for task in job]  # a worker of its own
    names = {task.worker for task in freed}
    assert makespan(list_schedule(freed, names)) == total

# %% tags=["hide-input"]
def complaint(*tasks, p=2):
    """What the scheduler has to say against these tasks; "" if nothing."""
    try:
        list_schedule(tasks, p)
    except ValueError as error:
        return str(error)
    return ""


assert complaint(Task("a"), Task("b", 0, ("a",), 1)) == ""
assert "cycle" in complaint(Task("a", 1, ("b",)), Task("b", 1, ("a",)))
assert "'z'" in complaint(Task("a", 1, ("z",)))
assert complaint() and complaint(Task("a"), Task("a"))
for task, p in ((Task("a"), 0), (Task("a", worker="z"), 2),
                (Task("a", -1), 2), (Task("a", math.nan), 2)):
    assert "'a'" in complaint(task, p=p)
free_tasks = [Task("a", 2), Task("b"), Task("c", 2)]
assert list_schedule(free_tasks, 2) == [
    (0, 0, 2, "a"), (1, 0, 1, "b"), (1, 1, 3, "c")]

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(9, 4.6), layout="constrained")
for ax, timeline in zip(axes, (serial, rows), strict=True):
    order = sorted(timeline, key=lambda row: lanes.index(row[0]))
    gantt([(lane, start, end, name.partition(".")[0].replace("sum", "+"))
           for lane, start, end, name in order], ax)
    ax.set_xlim(0, work)
axes[0].set_xlabel("")
d2l.describe(fig, """Two Gantt charts over five lanes. Above, one bar at a
    time, until 38. Below, the two GPUs work side by side and the links send
    while the GPUs compute; everything ends at 17.""")

# %% [markdown]
# **Figure 13.3.2.** The step one task at a time, and scheduled on five lanes (`+` for the sums).
# `s2` travels while the GPUs compute.
#
# The total is 17, not the span 15.
# It cannot be less: no GPU can start before 3, each has 10 units of work, and a transfer and a sum follow.
# The graph knows nothing of workers that are shared: with a second GPU for each `W2` the total is 16, and with a second link for each `s2` as well it is the span.
# Which should a GPU do first, `W2` or `D2`?
# `D2` lies on the critical path, but with `D2` first the step takes 18: the link starts later.
# A critical path is a bound, not a plan.
#
# ## What greed guarantees
#
# For tasks that any of $p$ equal workers may run, the time $T_p$ of *every* greedy schedule lies between
#
# $$\max\Big(\frac Wp,\,S\Big)\;\le\;T_p\;\le\;\frac Wp+\Big(1-\frac1p\Big)S. \tag{13.3.1}$$
#
# Here $p$ is the number of workers, $W$ the work and $S$ the span, in units of time.
# The left inequality holds for any schedule: $p$ workers do at most $p$ units of work per unit of time, and a critical path takes $S$.
# For the right one:
#
# 1. Let $I$ be the total time during which at least one worker is idle.
# 2. At such a moment, every task whose predecessors are done is running, as the schedule is greedy. So on each longest path of what is left to do the first task is running, and what is left of the span shrinks by as much time as passes. It never grows, so $I\le S$.
# 3. During $I$ at least one worker is busy, in the rest of the time all $p$ are: $W\ge p\,(T_p-I)+I$.
# 4. Solve for $T_p$: $T_p\le\frac Wp+(1-\frac1p)I\le\frac Wp+(1-\frac1p)S$.
#
# The best possible time is at least $\frac Wp$ and at least $S$, so greedy takes at most $2-\frac1p$ times as long.
# The bound $2-\frac1p$ is Graham's (1966); for operations of unit time, (13.3.1) is known as Brent's theorem, after a lemma of 1974.
# A constant below 2, guaranteed for every graph and every $p$, is NP-hard to reach if a variant of the unique games conjecture holds (Svensson 2011).

# %%
def random_graph(rng):
    """5 to 40 tasks of cost 1 to 9 with random edges forward."""
    density = rng.choice((0.03, 0.1, 0.3))
    return [Task(i, rng.randint(1, 9),
                 tuple(j for j in range(i) if rng.random() < density))
            for i in range(rng.randint(5, 40))]


def is_greedy(tasks, rows, p):
    """Dependencies kept, workers not shared, none idle beside a ready task."""
    table = {task.name: task for task in tasks}
    begin = {name: start for _, start, _, name in rows}
    end = {name: stop for _, _, stop, name in rows}
    assert len(rows) == len(table) == len(begin)
    assert all(0 <= worker < p for worker, _, _, _ in rows)
    assert all(end[n] == begin[n] + table[n].cost for n in table)
    for t in sorted({0, *end.values()}):  # what runs changes only here
        running = [w for w, start, stop, _ in rows if start <= t < stop]
        assert len(running) == len(set(running))  # one task a worker
        waiting = [n for n in table if begin[n] > t and all(
            end[d] <= t for d in table[n].deps)]
        if waiting and len(running) < p:
            return False
    return all(end[d] <= begin[n] for n in table for d in table[n].deps)

# %% [markdown]
# We check it on random graphs.
# As a control that is not greedy, tasks are dealt to the workers in turn in advance, and one may wait for its worker although another is idle.

# %%
# check 13.3-C1: both bounds, dependencies, no idleness; a control breaks it
rng = random.Random(3)
graphs = [random_graph(rng) for _ in range(num_graphs)]
broken = lazy = exact = steps = 0
for tasks in graphs:
    W, (S, path) = sum(task.cost for task in tasks), critical_path(tasks)
    steps = max(steps, len(path))
    for p in (1, 2, 4):
        T = makespan(rows := list_schedule(tasks, p))
        assert is_greedy(tasks, rows, p)
        assert max(W, p * S) <= p * T <= W + (p - 1) * S
        exact += p > 1 and T == max(math.ceil(W / p), S)
        dealt = list_schedule([replace(task, worker=i % p)
                               for i, task in enumerate(tasks)], p)
        lazy += not is_greedy(tasks, dealt, p)
        broken += p * makespan(dealt) > W + (p - 1) * S
runs = 2 * num_graphs  # with more than one worker
print(f"of {runs} schedules {exact} meet the lower bound; with tasks dealt "
      f"in advance {lazy} are not greedy, {broken} above the upper bound")
assert broken > 0 and lazy > runs / 2 and steps > 5

# %%
# check 13.3-C2: one worker needs W; four waste no more than the bound says
for tasks in graphs:
    assert makespan(list_schedule(tasks, 1)) == sum(t.cost for t in tasks)
worst = [Task(i) for i in range(12)] + [Task("long", 4)]
print("4 workers:", makespan(list_schedule(worst, 4)), "with the long task "
      "last,", makespan(list_schedule(worst[::-1], 4)), "with it first")
assert makespan(list_schedule(worst, 4)) == 16 / 4 + 3 / 4 * 4 == 7
assert makespan(list_schedule(worst[::-1], 4)) == 4
bound = [replace(task, worker=0) for task in worst]
assert makespan(list_schedule(bound, 4)) == 16

# %% [markdown]
# The last example meets the upper bound exactly, and the factor $2-\frac14$ too.
# The theorem does not cover tasks that are bound to workers, as the control shows: bind all of them to one worker, and $T_p=W$ for every $p$.
#
# A greedy schedule can also get longer when the problem gets easier.
# In an example of Graham's (1969), a fourth worker, shorter tasks or fewer dependencies each make it longer.

# %%
costs = [3, 2, 2, 2, 4, 4, 4, 4, 9]
needs = {9: (1,), 5: (4,), 6: (4,), 7: (4,), 8: (4,)}


def graham(costs, needs, p):
    """Time of the list schedule of tasks 1 to 9."""
    return makespan(list_schedule([Task(i, cost, needs.get(i, ())) for i, cost
                                   in enumerate(costs, 1)], p))


fewer = {i: d for i, d in needs.items() if i not in (5, 6)}
times = [graham(costs, needs, 3), graham(costs, needs, 4),
         graham([c - 1 for c in costs], needs, 3), graham(costs, fewer, 3)]
print("as it is {}, 4 workers {}, shorter {}, freer {}".format(*times))
assert times == [12, 15, 13, 16]

# %% [markdown]
# ## Amdahl's law is the worst case
#
# Suppose a fraction $f$ of the work can be divided among any number of workers, and the rest is serial.
# The speedup on $p$ workers is then
#
# $$\frac{T_1}{T_p}=\frac1{(1-f)+f/p}, \tag{13.3.2}$$
#
# with the limit $\frac1{1-f}$: Amdahl's law for a problem of fixed size, named after his argument of 1967 that data management alone keeps a large part of the work serial.
# Adding workers to such a problem is called *strong scaling*.
# For $f=0.9$ the limit is 10, and 8 workers give 4.7.
# Now put $S=(1-f)W$ into the right side of (13.3.1): the result is $W\big((1-f)+\frac fp\big)$.
# So *every* graph whose tasks any worker may run, greedily scheduled, runs at least as fast as Amdahl's law with $f=1-S/W$.
# This counts neither the communication between workers nor the start of tasks; real programs pay for both.
#
# If more workers are used for a larger problem, such that each has the same parallel work as before, the picture changes.
# For a run in which the parallel part takes the fraction $f$ of the time on $p$ workers, one worker would need $(1-f)+fp$ times as long.
# This is Gustafson's law (1988), a straight line, and adding workers in this way is called *weak scaling*.

# %%
# check 13.3-C5: Amdahl's numbers, and a graph that has them
def amdahl(f, p):
    """Speedup if a fraction f of the work can be divided."""
    return 1 / ((1 - f) + f / p)


def fork(serial, parallel, pieces=64):
    """One task of cost `serial`, then the cost `parallel` in equal pieces."""
    return [Task("serial", serial)] + [
        Task(i, parallel / pieces, ("serial",)) for i in range(pieces)]


assert abs(amdahl(0.9, 8) - 4.706) < 5e-4
assert abs(amdahl(0.9, 1e9) - 10) < 1e-6
for p in (1, 2, 4, 8):
    T = makespan(list_schedule(fork(80, 720), p))
    assert abs(800 / T - amdahl(0.9, p)) < 1e-9
    scaled = fork(80, 720 * p)  # weak: each worker keeps 720
    T = makespan(list_schedule(scaled, p))
    assert T == 800 and abs((80 + 720 * p) / T - (0.1 + 0.9 * p)) < 1e-9

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.1),
                                  layout="constrained")
counts = torch.arange(1, 33)
for f, mark in zip((0.5, 0.9, 0.99), ("o", "s", "^")):
    line, = left.plot(counts, amdahl(f, counts), label=f"$f={f}$")
    some = (1, 2, 4, 8, 16, 32)
    graph = fork(round(3200 * (1 - f)), round(3200 * f))
    left.plot(some, [3200 / makespan(list_schedule(graph, p)) for p in some],
              mark, color=line.get_color(), ms=4)
left.plot(counts, 0.1 + 0.9 * counts, "k--", label="Gustafson, $f=0.9$")
left.set(xlabel="workers $p$", ylabel="speedup", ylim=(0, 26))
left.legend(fontsize=8)
rng, few = random.Random(5), range(1, 13)
tasks = [Task(i, rng.randint(1, 9), tuple(
    j for j in range(i) if rng.random() < 0.05)) for i in range(60)]
W, (S, _) = sum(task.cost for task in tasks), critical_path(tasks)
right.plot(few, [W / max(W / p, S) for p in few], "--",
           label=r"$W/\max(W/p,S)$")
right.plot(few, [W / makespan(list_schedule(tasks, p)) for p in few], "o-",
           label="greedy", ms=4)
right.plot(few, [amdahl(1 - S / W, p) for p in few], ":",
           label="Amdahl, $f=1-S/W$")
right.set(xlabel="workers $p$", ylabel="speedup")
right.legend(fontsize=8)
d2l.describe(fig, """Left, three curves of Amdahl's law that flatten out, with
    dots of the scheduler on them, and a rising dashed line. Right, the
    speedup of one random graph lies between an upper dashed curve and a
    lower dotted one, and reaches the upper one.""")

# %% [markdown]
# **Figure 13.3.3.** Left: speedup for a serial part and 64 equal tasks after it; lines from the formulas, dots from the scheduler.
# Right: one random graph of 60 tasks.
# No schedule is above the dashed line, and no greedy one below the dotted line.
#
# ## Forward, backward, and the exchange
#
# A network of $L$ layers is a chain, but its backward pass has two strands: the gradient of the output of a layer gives that of its weights (`W`), which nothing else in the backward pass waits for, and that of its input (`D`), which the layer below does wait for.
# The first layer needs no input gradient.
# With unit costs the work is $L$ forward, $L-1$ for `D` and $L$ for `W`.
# The critical path goes up through all layers and down again.

# %%
def network(L, exchange=None):
    """Forward and backward of L layers; unit costs, on "GPU" if exchanged."""
    own = None if exchange is None else "GPU"
    tasks = [Task(f"F{i}", 1, (f"F{i - 1}",) if i > 1 else (), own)
             for i in range(1, L + 1)]
    for i in range(L, 0, -1):
        above = (f"D{i + 1}" if i < L else f"F{L}",)
        tasks.append(Task(f"W{i}", 1, above, own))
        if exchange is not None:
            tasks.append(Task(f"E{i}", exchange, (f"W{i}",), "network"))
        if i > 1:
            tasks.append(Task(f"D{i}", 1, above, own))
    return tasks


def ancestors(tasks, name):
    """Names of all tasks that must be done before this one."""
    deps = {task.name: task.deps for task in tasks}
    return set(deps[name]).union(*(ancestors(tasks, d) for d in deps[name]))

# %%
# check 13.3-C3: work 3L-1, span 2L, and what an exchange waits for
for L in range(1, 13):
    tasks = network(L)
    assert sum(task.cost for task in tasks) == len(tasks) == 3 * L - 1
    assert critical_path(tasks)[0] == 2 * L
    assert makespan(list_schedule(tasks, 2)) == 2 * L
    tasks = network(L, exchange=1)
    for i in range(1, L + 1):
        weights = {n for n in ancestors(tasks, f"E{i}") if n[0] in "WE"}
        assert weights == {f"W{i}"}  # of no other layer
    for cost in (0, 1, 2):
        during = makespan(list_schedule(network(L, cost), ["GPU", "network"]))
        assert during == 3 * L - 1 + cost
    for cost in (2, 3, 5):  # the network never pauses
        slow = makespan(list_schedule(network(L, cost), ["GPU", "network"]))
        assert slow == L + 1 + L * cost
    down_first = [replace(task, priority=int(task.name[0] == "D"))
                  for task in network(L, 2)]  # no W before the last D
    assert makespan(list_schedule(down_first, ["GPU", "network"])) == 4 * L

# %% [markdown]
# Two workers reach the span, and a third one is useless: with equal costs the chain admits a speedup below 1.5 however many layers it has.
# (Pipeline schedules fill their gaps with the tasks `W`, Qi and others 2024; [Section 13.5](05-data-parallel-scratch.ipynb) builds some.)
#
# The exchange of gradients among several GPUs is more rewarding.
# That of layer $i$ waits for `W`$i$ only, not for the end of the backward pass.
# Let it take $c$ units, and let `W` go before `D`.
# Up to $c=2$, all exchanges but the last hide behind the computation: $3L-1+c$ in place of $3L-1+Lc$.
# Above that the exchange sets the pace, and most of the backward pass hides behind it instead: $L+1+Lc$.
# With every `D` before the first `W`, even $c=2$ takes $4L$: the order matters.
# PyTorch has a hook for it, which runs when a backward pass has added its gradient to a parameter's `grad`.

# %%
net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
fired = []


def announce(i):
    """A hook that notes the layer i and which gradients exist by then."""
    def hook(weight):
        fired.append((i, [layer.weight.grad is not None for layer in net]))
    return hook


for i, layer in enumerate(net):
    layer.weight.register_post_accumulate_grad_hook(announce(i))
net(torch.ones(2, 4)).sum().backward()
assert [i for i, _ in fired] == [4, 3, 2, 1, 0]
assert all(there == [j >= i for j in range(5)] for i, there in fired)

# %% [markdown]
# When the hook of the top layer runs, no other layer's weight has a gradient: the exchange could start there.
# `DistributedDataParallel` does this, in buckets ([Section 13.6](06-ddp-fsdp.ipynb)).
#
# ## Copies beside computation
#
# The same holds for a copy to the GPU, which the next batch needs and this one does not.
# For $n$ items that need $t_c$ for the copy on one resource and then $t_x$ for the computation on another, the copies and computations form a pipeline:
#
# $$T=t_c+(n-1)\max(t_c,t_x)+t_x. \tag{13.3.3}$$
#
# The first copy and the last computation overlap with nothing; in between the slower one sets the pace.
# With constant times, memory for two items is enough; with room for one there is no overlap.

# %%
def pipeline(loads, compute, loaders=1, room=math.inf):
    """Items dealt to loaders, then computed with one after the other.

    There is room for so many items that are loaded or being loaded and
    whose step has not ended.
    """
    tasks = []
    for i, load in enumerate(loads):
        before = (f"step {i - 1}",) if i else ()
        free = (f"step {i - room}",) if i >= room else ()
        tasks += [Task(f"load {i}", load, free, f"loader {i % loaders}"),
                  Task(f"step {i}", compute, (f"load {i}", *before), "step")]
    return tasks


def predict(n, load, compute, loaders=1, room=math.inf):
    """Time of the pipeline in the scheduler, for n equal items."""
    lanes = [f"loader {i}" for i in range(loaders)] + ["step"]
    tasks = pipeline([load] * n, compute, loaders, room)
    return makespan(list_schedule(tasks, lanes))

# %%
# check 13.3-C6: the scheduler's total is the formula
for n, t_c, t_x in product((1, 2, 7, 30), (0, 1, 4, 9), (1, 4, 6)):
    total = t_c + (n - 1) * max(t_c, t_x) + t_x
    assert predict(n, t_c, t_x) == predict(n, t_c, t_x, room=2) == total
    assert predict(n, t_c, t_x, room=1) == n * (t_c + t_x)  # no overlap
uneven = pipeline([9, 1, 1], 1, loaders=2)
rows = list_schedule(uneven, ["loader 0", "loader 1", "step"])
assert makespan(rows) == 12  # item 1 is ready, but waits for its turn

# %% [markdown]
# PyTorch's eager mode does not look for such overlap.
# A *stream* is a queue of work for one GPU; what is in one stream runs in order, what is in different streams may overlap.
# All operations go to one default stream unless the program opens others.
# A second one has to be told what to wait for (`wait_stream`), since otherwise nothing orders the two.
# And a tensor that the second stream uses must live until that work is done, because freed memory goes back to the stream that made the tensor; `record_stream` delays its reuse.
# For a copy to run beside a computation on the GPU, it needs a stream of its own, a tensor in *pinned* memory, which the operating system does not move, and a call that does not wait, `x.to(device, non_blocking=True)`.
# Pinning by `x.pin_memory()` is itself a copy, for which the program waits; a `DataLoader` with `pin_memory=True` does it ahead, in a thread.
# In the other direction such a call returns before the values are there: synchronize before reading them.
#
# For computations streams promise less.
# One product of large matrices can occupy a whole GPU, and a second one beside it finds no room.
# The following cell deals $n$ products to several streams; where there is no GPU it says so.

# %%
def parallel_matmuls(n, streams, size):
    """Milliseconds for n products dealt to streams of a GPU; the results."""
    main = torch.cuda.current_stream()
    factors = [torch.randn(size, size, device="cuda") for _ in range(n)]
    others = [torch.cuda.Stream() for _ in range(streams)]
    for _ in range(2):  # the first round warms the streams up
        start, stop = (torch.cuda.Event(enable_timing=True)
                       for _ in range(2))
        start.record()
        for stream in others:
            stream.wait_stream(main)  # the factors are made there
        results = []
        for i, factor in enumerate(factors):
            with torch.cuda.stream(others[i % streams]):
                results.append(factor @ factor)
        for stream in others:
            main.wait_stream(stream)
        stop.record()
        torch.cuda.synchronize()
    for factor, result in zip(factors, results, strict=True):
        torch.testing.assert_close(result, factor @ factor)
    return start.elapsed_time(stop), results

# %% tags=["timing"]
if torch.cuda.device_count():
    print(torch.cuda.get_device_name(), torch.__version__)
    for size, streams in product((256, 4096), (1, 8)):
        times = [parallel_matmuls(8, streams, size)[0] for _ in range(9)]
        print(f"8 products of size {size} on {streams} streams: "
              f"{sorted(times[2:])[3]:.3f} ms")
else:
    print("skipped: no CUDA device")

# %% [markdown]
# ## Loading beside training
#
# A training loop that reads its data itself waits for them in every step.
# With $w$ workers that load ahead and constant times, each item of a long run costs
#
# $$\max\Big(\frac{t_{\text{load}}}w,\,t_{\text{step}}\Big) \tag{13.3.4}$$
#
# instead of $t_{\text{load}}+t_{\text{step}}$, with the time $t_{\text{load}}$ to load an item and $t_{\text{step}}$ for a training step on it.
# Two effects are mixed in it: loading *overlaps* with the step, and $w$ items are loaded *in parallel*.
# A toy with threads that sleep shows both.

# %%
def overlap(load, compute, n, workers):
    """Rows for gantt: n items loaded by threads, or in line if workers = 0.

    `load` and `compute` are the seconds that each sleeps per item.
    """
    rows, start = [], time.perf_counter()

    def sleep(lane, seconds, label):
        begin = time.perf_counter() - start
        time.sleep(seconds)
        rows.append((lane, begin, time.perf_counter() - start, label))

    def fetch(i):
        sleep(threading.current_thread().name, load, i)

    with ThreadPoolExecutor(max(workers, 1), "loader") as pool:
        ahead = [pool.submit(fetch, i) for i in range(n) if workers]
        for i in range(n):
            if workers:
                ahead[i].result()
            else:
                sleep("load", load, i)
            sleep("step", compute, i)
    return rows

# %%
fast = {}
for workers in (0, 1, 2):
    tries = [overlap(item_seconds, item_seconds / 2, 8, workers)
             for _ in range(2)]
    fast[workers] = min(tries, key=makespan)
bounds = [8 * 1.5, predict(8, 1, 0.5, 1), predict(8, 1, 0.5, 2)]
assert bounds == [12, 8.5, 5]
for workers, bound in enumerate(bounds):  # no sleep is shorter than asked
    assert makespan(fast[workers]) > 0.99 * item_seconds * bound
assert makespan(fast[2]) < 0.9 * makespan(fast[1])
assert makespan(fast[1]) < 0.9 * makespan(fast[0])

# %% tags=["hide-input", "timing"]
fig, axes = plt.subplots(3, 1, figsize=(8, 5), layout="constrained",
                         height_ratios=[2, 2, 3], sharex=True)
for ax, (workers, rows) in zip(axes, fast.items(), strict=True):
    rows = sorted(rows, key=lambda row: (row[0] != "step", row[0]))
    gantt([(lane.replace("_", " "), 1000 * start, 1000 * end, label)
           for lane, start, end, label in rows], ax, xlabel="")
axes[-1].set_xlabel("milliseconds")
d2l.describe(fig, """Three Gantt charts. Without workers loading and steps
    alternate; with one loader the steps run beside the loading; with two
    loaders two items load at a time and the steps follow closely.""")

# %% [markdown]
# **Figure 13.3.4.** Eight items that take twice as long to load as to use, from recorded times: no worker, one (overlap), two (overlap and parallel loading).
#
# ### A real `DataLoader`
#
# `DataLoader(num_workers=w)` starts $w$ *processes*.
# The data set is sent to them, so on systems that start processes afresh its class must be importable and cannot live in a cell; we put it into a script.
# (Python starts them afresh by default on Windows and macOS, and from a server process on Linux since 3.14.)

# %%
def measure(dataset, step, workers, epochs):
    """Seconds of each epoch, the order of the items, how many seeds."""
    loader = DataLoader(dataset, batch_size=None, num_workers=workers,
                        persistent_workers=workers > 0)
    seconds = []
    for _ in range(epochs):
        start, seen, seeds = time.perf_counter(), [], set()
        for i, seed in loader:
            time.sleep(step)
            seen.append(i)
            seeds.add(seed)
        seconds.append(time.perf_counter() - start)
    return seconds, seen, len(seeds)

# %%
cases = [(1, 1, 0), (1, 1, 1), (1, 1, 2), (1, 0, 0), (1, 0, 2),
         (1, 0.5, 0), (1, 0.5, 1), (1, 0.5, 2)]  # load, step, workers
script = d2l.write_script("loader.py", """
    import json, sys, time
    import torch
    from torch.utils.data import DataLoader, Dataset

    class SleepyItems(Dataset):
        def __init__(self, n, seconds):
            self.n, self.seconds = n, seconds

        def __len__(self):
            return self.n

        def __getitem__(self, i):
            time.sleep(self.seconds)
            return i, torch.initial_seed()
    """, measure, """
    if __name__ == "__main__":
        unit, cases = float(sys.argv[1]), json.loads(sys.argv[2])
        print(json.dumps([measure(SleepyItems(12, load * unit), step * unit,
                                  workers, epochs=3 if workers else 1)
                          for load, step, workers in cases]))
    """)
out = d2l.torchrun(script, 1, [item_seconds, json.dumps(cases)])
loaders = dict(zip(cases, json.loads(out.stdout), strict=True))

# %% [markdown]
# The processes stay for all epochs (`persistent_workers`), and we take the best epoch after the first one, which includes their start.

# %% tags=["timing"]
best = {case: min(seconds[1:] or seconds)
        for case, (seconds, _, _) in loaders.items()}
for (load, step, workers), seconds in best.items():
    unit = 1000 * item_seconds
    first = loaders[load, step, workers][0][0]
    print(f"load {load * unit:.0f} ms, step {step * unit:.0f} ms, {workers} "
          f"workers: {seconds:.2f} s, first epoch {first:.2f} s")

# %%
# check 13.3-C4: overlap and parallel loading, each alone and both
for (load, step, workers), seconds in best.items():  # sleeps bound below
    least = predict(12, load, step, workers) if workers else 12 * (load + step)
    assert seconds > 0.99 * item_seconds * least
    seen, seeds = loaders[load, step, workers][1:]
    assert seen == list(range(12)) and seeds == max(workers, 1)
assert best[1, 1, 2] < 7 / 8 * best[1, 1, 0]
assert best[1, 1, 1] < 7 / 8 * best[1, 1, 0]  # overlap only
assert best[1, 0, 2] < 7 / 8 * best[1, 0, 0]  # parallel loading only
assert best[1, 0.5, 1] < 7 / 8 * best[1, 0.5, 0]  # one after ...
assert best[1, 0.5, 2] < 7 / 8 * best[1, 0.5, 1]  # ... the other

# %% [markdown]
# The times here are constant.
# Where loading takes as long as the step, one worker nearly reaches the limit that the steps set, and a second one has nothing to add: the whole gain is overlap.
# With a free step the whole gain is parallel loading.
# Only where loading takes longer than the step do both count, as in the last three lines.
# Each worker stays at most `prefetch_factor` batches ahead (2 by default), so memory is bounded.
# The items come in order, whichever worker was first, and each worker has its own seed; without that, random augmentation would repeat itself across workers.
#
# ## Threads in Python
#
# Why processes and not threads, as in the toy?
# In the default build of Python one lock, the *global interpreter lock*, lets a single thread run Python code at a time.
# PyTorch's operators release it while they compute, `time.sleep` does while it sleeps, but code that runs in the interpreter holds it.
# To see who holds it, a second thread counts how often it gets a turn, at most once per millisecond, while the first does something.

# %%
def turns(work, beside=lambda: time.sleep(0.001)):
    """How often another thread calls beside() during work()."""
    count, stop = 0, threading.Event()

    def ticker():
        nonlocal count
        while not stop.is_set():
            beside()
            count += 1

    thread = threading.Thread(target=ticker)
    thread.start()
    time.sleep(0.02)
    before = count
    work()
    got = count - before
    stop.set()
    thread.join()
    return got


threads, A = torch.get_num_threads(), torch.randn(2000, 2000)
torch.set_num_threads(1)
product_turns = max(turns(lambda: A @ A) for _ in range(3))
torch.set_num_threads(threads)
python_turns = min(turns(lambda: sum(range(10**7))) for _ in range(5))
locked = getattr(sys, "_is_gil_enabled", lambda: True)()
if locked:
    assert product_turns > 4 * max(python_turns, 1) and python_turns <= 2

# %% [markdown]
# During a matrix product the other thread runs on; while the interpreter adds up numbers in one call, it hardly gets a turn.
# Between the instructions of Python code the lock is passed on every few milliseconds, so threads take turns, but they do not run at the same time.
# So in the default build threads are enough for loading that reads, waits or calls such operators; Python code needs processes, or since 3.14 several interpreters with a lock each ([PEP 734](https://peps.python.org/pep-0734/)), which not every extension module supports.
# Free-threaded builds of Python can run without the lock (PEP 703); since 3.14 they are officially supported, though not the default (PEP 779).
# Importing an extension module that is not ready for this switches the lock on again; `sys._is_gil_enabled()` tells.
#
# PyTorch on a CPU has two pools of threads.
# *Intra-op* threads (`torch.set_num_threads`) divide one operation among cores.
# *Inter-op* threads (`torch.set_num_interop_threads`) are there for operations side by side, but only for those that a program in TorchScript, which is deprecated, forks explicitly (`torch.jit.fork`); eager code runs one operation after the other (Exercise 3).
#
# MXNet (2015) scheduled operations from their dependencies behind the user's back: automatic parallelism in the literal sense.
# PyTorch went another way: some overlap is built in (gradient exchange, loaders), and elsewhere the program asks for it.
# What is automated today is rather the choice of how to split a model over many devices; Alpa (2022), among others, searches for it.

# %% [markdown]
# ## Summary
#
# - A graph's work $W$ and span $S$ bound its time on $p$ workers: every greedy schedule lies between $\max(W/p,S)$ and $W/p+(1-1/p)S$, and the upper end is Amdahl's law with $f=1-S/W$.
# - The theorem needs workers that may run any task; bound tasks can be far slower. A greedy schedule can get longer with more workers.
# - Forward and backward of a chain with equal costs have $W/S<1.5$, but the exchange of gradients can hide behind the backward pass, layer by layer.
# - Two overlapping resources take the time of the slower one, plus a start and an end; memory for two items is enough if times are constant.
# - Loader workers give overlap and parallel loading; more than $t_{\text{load}}/t_{\text{step}}$ of them, rounded up, give nothing more if times are constant.
# - Threads run side by side where the interpreter's lock is released; PyTorch's eager operators run one after the other unless streams, processes or threads say otherwise.

# %% [markdown]
# ## Exercises
#
# ### Exercise 13.3-1
#
# Find six tasks and an order of the list for which the greedy schedule on two workers takes 1.5 times the optimum.
# Verify the optimum by brute force.

# %% [markdown]
# #### Solution 13.3-1

# %% [markdown]
# For $p=2$ this is the worst that (13.3.1) allows.
# Let greedy fill both workers evenly with small tasks, and only then meet one that is as long as all of them together: costs 2, 1, 1, 1, 1 and then 6.
# The brute force places the tasks in every order on every choice of workers, each as early as possible; some optimal schedule is among them.
# Longest first, greedy is optimal here.

# %%
def brute_force(tasks, p):
    """Least makespan over all orders and placements."""
    least = math.inf
    for order in permutations(tasks):
        place = {task.name: i for i, task in enumerate(order)}
        if any(place[d] > place[t.name] for t in order for d in t.deps):
            continue
        for where in product(range(p), repeat=len(order)):
            free, end = [0] * p, {}
            for task, worker in zip(order, where, strict=True):
                start = max([free[worker], *(end[d] for d in task.deps)])
                free[worker] = end[task.name] = start + task.cost
            least = min(least, max(free))
    return least


six = [Task(i, cost) for i, cost in enumerate((2, 1, 1, 1, 1, 6))]
best_time = brute_force(six, 2)
print("greedy", makespan(list_schedule(six, 2)), "optimum", best_time)
assert makespan(list_schedule(six, 2)) == 1.5 * best_time == 9
longest_first = [replace(task, priority=task.cost) for task in six]
assert makespan(list_schedule(longest_first, 2)) == best_time
chain = [Task("a", 1), Task("b", 5, ("a",)), Task("c", 2)]
assert brute_force(chain, 2) == 6 == critical_path(chain)[0]

# %% [markdown]
# ### Exercise 13.3-2
#
# Loading an item takes 60 ms, a step 20 ms.
# How many loader workers are worth starting?
# Compare the formula, the scheduler and `overlap`.
# What changes if half of the items take 10 ms and half 110 ms, in random order, and each worker may be two items ahead of the step?

# %% [markdown]
# #### Solution 13.3-2

# %% [markdown]
# (13.3.4) falls until $t_{\text{load}}/w\le t_{\text{step}}$, that is up to $w=\lceil60/20\rceil=3$.
# The total of the scheduler falls up to the same number, and so do the measured times; from there on all of them stay above $t_{\text{load}}+n\,t_{\text{step}}$.
#
# If times vary, the formula with the mean loading time is only a lower bound for a long run.
# On five random orders of 1000 items, three workers take over 1.2 times $t_{\text{load}}+n\,t_{\text{step}}$, and five come within 5 %.
# Three workers are just enough only if none of them ever waits.
# But items are dealt to them in turn and delivered in order: while one worker is at a slow item, the others run out of room and wait.
# With 100 items ahead in place of two, three workers come within 15 %.

# %%
load, step_time, n = 6, 2, 9
totals = [predict(n, load, step_time, w) for w in (1, 2, 3, 4, 5)]
assert totals == [56, 32, 24, 24, 24] and math.ceil(load / step_time) == 3
unit = item_seconds / 5
seconds = [min(makespan(overlap(load * unit, step_time * unit, n, w))
               for _ in range(2)) for w in (1, 2, 3, 4)]
assert seconds[0] > 1.2 * seconds[1] and seconds[1] > 1.05 * seconds[2]
assert all(took > 0.99 * unit * total
           for took, total in zip(seconds, totals))
assert seconds[3] > 0.8 * seconds[2]

# %%
def slowdown(w, ahead, seed, n=1000):
    """Time for loads of 1 and 11, over that for equal loads of 6."""
    loads = [1, 11] * (n // 2)
    random.Random(seed).shuffle(loads)
    lanes = [f"loader {i}" for i in range(w)] + ["step"]
    tasks = pipeline(loads, step_time, w, room=ahead * w + 1)
    return makespan(list_schedule(tasks, lanes)) / (load + n * step_time)


ratios = {(w, ahead): [slowdown(w, ahead, seed) for seed in range(5)]
          for w, ahead in ((3, 2), (4, 2), (5, 2), (3, 100))}
for (w, ahead), r in ratios.items():
    print(f"{w} workers, {ahead} ahead: {min(r):.2f} to {max(r):.2f}")
assert 1 <= max(ratios[5, 2]) < 1.05 < 1.2 < min(ratios[3, 2])
assert len(set(ratios[3, 2])) == 5  # five orders
assert max(ratios[3, 100]) < 1.15

# %% [markdown]
# ### Exercise 13.3-3
#
# Multiply eight matrices with themselves, none of which needs another.
# Does the framework run the products in parallel?

# %% [markdown]
# #### Solution 13.3-3

# %% [markdown]
# No.
# With one intra-op thread, eight products in a row use no more than about one second of processor time per second.
# Two Python threads do overlap: while one computes a large product, the other finishes many small ones (on a single core they share it).
# As a control, next to a call that keeps the interpreter's lock it finishes far fewer.
# Start and end times alone would not show this: a thread that waits for the lock has started, too.
# On a GPU one stream runs the products in order as well; `parallel_matmuls` with eight streams allows overlap, and its times show what that gains on your card; they include issuing the products ([Section 13.2](02-async.ipynb)), so equal times do not prove that there was no room.

# %% tags=["timing"]
threads = torch.get_num_threads()
torch.set_num_threads(1)
matrices = [torch.randn(800, 800) for _ in range(8)]
wall, cpu = time.perf_counter(), time.process_time()
for matrix in matrices:
    matrix @ matrix
used = (time.process_time() - cpu) / (time.perf_counter() - wall)
small = matrices[0][:300, :300].contiguous()
free = min(turns(lambda: A @ A, lambda: small @ small) for _ in range(3))
held = max(turns(lambda: sum(range(10**7)), lambda: small @ small)
           for _ in range(3))
torch.set_num_threads(threads)
print(f"small products beside a large one {free}, beside a sum {held}")
assert used < 1.2
assert not locked or free > 2 * max(held, 1)
if torch.cuda.device_count():
    one, eight = (min(parallel_matmuls(8, s, 256)[0] for _ in range(9))
                  for s in (1, 8))
    print(f"streams: one {one:.3f} ms, eight {eight:.3f} ms")

# %% [markdown]
# ### Exercise 13.3-4
#
# Draw the graph of forward and backward of a residual block with two convolutions and a $1\times1$ convolution on the shortcut, with unit costs.
# What are its work and its span, and what is the time for $p=2$?
# What does a plain shortcut change?

# %% [markdown]
# #### Solution 13.3-4

# %% [markdown]
# Forward: convolution `C1`, activation `R`, convolution `C2`, shortcut `S`, and `A`, the sum with its activation.
# Backward: one task each through `A` and `R`; each convolution gives `W` for its weights and `D` for its input; the two gradients of the input are added.
# The work is 14 and the span 9, through both convolutions up and down.
# Two workers reach the span: the shortcut and the weight gradients fit beside it.
# Without the convolution on the shortcut the work is 11 and the span the same, so with unit costs that convolution costs two workers no time.

# %%
def residual_block(conv_shortcut=True):
    """Unit tasks of forward and backward; the names as in the solution."""
    shortcut = ("S",) if conv_shortcut else ()
    edges = {"C1": (), "R": ("C1",), "C2": ("R",), "A": ("C2", *shortcut),
             "dA": ("A",), "D2": ("dA",), "W2": ("dA",), "dR": ("D2",),
             "D1": ("dR",), "W1": ("dR",), "sum": ("D1", "dA")}
    if conv_shortcut:
        edges |= {"S": (), "DS": ("dA",), "WS": ("dA",), "sum": ("D1", "DS")}
    return [Task(name, 1, deps) for name, deps in edges.items()]


for with_conv, work_units in ((True, 14), (False, 11)):
    tasks = residual_block(with_conv)
    assert len(tasks) == work_units and critical_path(tasks)[0] == 9
    last = {t.name for t in tasks}.difference(*(t.deps for t in tasks))
    assert last == {"W1", "W2", "sum"} | ({"WS"} if with_conv else set())
    assert makespan(list_schedule(tasks, 2)) == 9
    assert is_greedy(tasks, list_schedule(tasks, 2), 2)
ax = gantt(list_schedule(residual_block(), 2), xlabel="units")
ax.set_ylabel("worker")
d2l.describe(ax, """Two lanes. The first one is full from 0 to 9 with the
    critical path; the second has the shortcut and the weight gradients.""")

# %% [markdown]
# ## Sources
#
# - R. L. Graham, *Bounds for certain multiprocessing anomalies*, Bell System Technical Journal 45 (1966), [doi:10.1002/j.1538-7305.1966.tb01709.x](https://doi.org/10.1002/j.1538-7305.1966.tb01709.x): list schedules and the factor $2-1/p$.
# - R. L. Graham, *Bounds on multiprocessing timing anomalies*, SIAM Journal on Applied Mathematics 17 (1969), [doi:10.1137/0117039](https://doi.org/10.1137/0117039): the example of nine tasks.
# - R. P. Brent, *The parallel evaluation of general arithmetic expressions*, Journal of the ACM 21 (1974), [doi:10.1145/321812.321815](https://doi.org/10.1145/321812.321815): Lemma 2.
# - O. Svensson, *Hardness of precedence constrained scheduling on identical machines*, SIAM Journal on Computing 40 (2011), [doi:10.1137/100810502](https://doi.org/10.1137/100810502).
# - G. M. Amdahl, *Validity of the single processor approach to achieving large scale computing capabilities*, AFIPS Spring Joint Computer Conference (1967), [doi:10.1145/1465482.1465560](https://doi.org/10.1145/1465482.1465560).
# - J. L. Gustafson, *Reevaluating Amdahl's law*, Communications of the ACM 31 (1988), [doi:10.1145/42411.42415](https://doi.org/10.1145/42411.42415).
# - T. Chen et al., *MXNet: a flexible and efficient machine learning library for heterogeneous distributed systems* (2015), [arXiv:1512.01274](https://arxiv.org/abs/1512.01274): operations scheduled from their dependencies.
# - L. Zheng et al., *Alpa: automating inter- and intra-operator parallelism for distributed deep learning*, OSDI 2022, [arXiv:2201.12023](https://arxiv.org/abs/2201.12023).
# - P. Qi, X. Wan, G. Huang and M. Lin, *Zero bubble pipeline parallelism*, ICLR 2024, [arXiv:2401.10241](https://arxiv.org/abs/2401.10241): the backward pass split into input and weight gradients.
# - S. Gross, *PEP 703: making the global interpreter lock optional in CPython* (2023), [PEP 703](https://peps.python.org/pep-0703/).
# - T. Wouters, M. Page and S. Gross, *PEP 779: criteria for supported status for free-threaded Python* (2025), [PEP 779](https://peps.python.org/pep-0779/).
# - PyTorch documentation, [CUDA semantics](https://docs.pytorch.org/docs/stable/notes/cuda.html): streams, pinned memory.
# - PyTorch tutorials, [A guide on good usage of non_blocking and pin_memory](https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html): what pinning costs.
# - PyTorch documentation, [CPU threading and TorchScript inference](https://docs.pytorch.org/docs/2.1/notes/cpu_threading_torchscript_inference.html): the two pools of threads (version 2.1; later versions of the page have lost this text).
# - Python documentation, [multiprocessing](https://docs.python.org/3/library/multiprocessing.html): how processes start.
