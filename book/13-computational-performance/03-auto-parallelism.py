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
# # 13.3 Automatic parallelism
#
# TODO: the question, in two or three sentences.
#
# **You will**
#
# - TODO: something that a reader can do then;
#
# **Cost**: TODO: time and memory on a CPU, downloads, use of a GPU.

# %%
from collections.abc import Hashable
from dataclasses import dataclass
from graphlib import TopologicalSorter

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
num_graphs = 200  # random graphs on which the bounds are checked

# %% [markdown]
# ## A graph knows what is independent

# %% tags=["export"]
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


# %% tags=["export", "hide-input"]
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
