# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         repeats: 2
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
# # 13.2 Asynchronous computation
#
# A call to a GPU usually returns before its work is done: Python hands the work over and goes on, which is called asynchronous execution ([Section 6.7](../06-builders-guide/07-gpus.ipynb)).
# How much time does that save, when does Python have to wait after all, and what does a clock show in the meantime?
# We build a device of our own that works this way, and answer with a formula, measurements and counts that need no GPU.
#
# **You will**
#
# - predict the time of a program from the time to issue, to execute and to read one operation;
# - see how far Python runs ahead, and choose how often to wait;
# - look for operations that make Python wait, without a GPU;
# - measure the time of work that is done behind your back.
#
# **Cost**: about half a minute on a CPU, nearly all of it spent sleeping or starting processes; nothing to download.
# On a machine with a CUDA device three more cells run.

# %%
import json
import logging
import operator
import queue
import random
import statistics
import threading
import time
import warnings
from unittest import mock

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from torch.nn import functional as F

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
repeats = 3  # runs of each measurement; the best one counts

# %% [markdown]
# ## Two workers
#
# A program that uses a GPU consists of two workers.
# The *front end*, here Python, works out what has to be done next and issues it: it puts the operation into a queue.
# The *back end*, a GPU for instance, takes operations out of the queue in their order and executes them.
# If the front end waits for each result, the two take turns.
# If it does not, both can be busy at the same time.
#
# Suppose that issuing takes the time $t_1$, executing $t_2$, and bringing a result back into Python $t_3$, the same for each of $n$ operations.
# Let $a_k$ be the time at which operation $k$ has been issued, and $f_k$ the time at which it has been executed, with $f_0=0$.
# The back end can start when the operation is there and the one before is done, so
#
# $$f_k=\max(a_k,f_{k-1})+t_2,\qquad k=1,\dots,n. \tag{13.2.1}$$
#
# The front end reads a result after every $m$ operations and waits for it then; otherwise it goes on issuing.
# The function below computes all of this exactly, one row for each thing that happens.
# Its last argument, for Exercise 2, bounds the queue.

# %%
def schedule(n, t1, t2, t3=0, every=None, limit=None):
    """When n operations are issued, executed and read, as rows for gantt.

    t2: a number, or one for each operation; every: operations between two
    reads, by default one read at the end; limit: places in the queue.
    Returns the rows and the time at which all is done.
    """
    durations = t2 if isinstance(t2, list) else [t2] * n
    rows, starts, now, free = [], [], 0, 0  # now: of Python; free: back end
    for k in range(1, n + 1):
        begin, now = now, now + t1
        if limit and k > limit:  # wait for a place in the queue
            now = max(now, starts[k - limit - 1])
        rows.append(("Python", begin, now, k))
        starts.append(max(now, free))
        free = starts[-1] + durations[k - 1]
        rows.append(("back end", starts[-1], free, k))
        if k == n or (every and k % every == 0):  # wait, and read
            now = max(now, free) + t3
            rows.append(("Python", now - t3, now, "r"))
    return rows, now

# %% [markdown]
# A *Gantt chart* draws such rows: a line for each worker, a bar from the start to the end of each piece of work.

# %% tags=["export", "hide-input"]
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

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(7, 3.4), layout="constrained",
                         sharex=True)
for ax, every, title in zip(axes, (1, None), (
        "wait for every result", "wait once, at the end"), strict=True):
    rows, total = schedule(5, 2, 3, 1, every)
    gantt(rows, ax, xlabel="time in ms")
    ax.set_title(f"{title}: {total} ms")
axes[0].set_xlabel("")
d2l.describe(fig, """Two Gantt charts of five operations, each with a line
    for Python and one for the back end. Above, one of the two is idle while
    the other works; below, the back end works without a gap, and all is
    done in little more than half the time.""")

# %% [markdown]
# **Figure 13.2.1.** Computed with `schedule`: five operations that take 2 ms to issue, 3 ms to execute and 1 ms to read (`r`).
# Above, Python waits for each result; below, it runs ahead, and only the last result is read.
#
# %% tags=["hide-input"]
# check: lanes from the top, bars where they belong, errors with their value
ax = gantt([("b", 1, 3, "x"), ("a", 0, 2, ""), ("b", 3, 4, "y")],
           groups=["one", "two", "two"])
assert [(p.get_x(), round(p.get_y() + p.get_height() / 2), p.get_width())
        for bars in ax.containers for p in bars] == [
            (1, 0, 2), (0, 1, 2), (3, 0, 1)]
assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "a"]
assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first lane is on top
assert [t.get_text() for t in ax.get_legend().texts] == ["one", "two"]
plt.close(ax.figure)
for rows, groups, value in (([("a", 2, 1, "x")], None, "ends at 1"),
                            ([("a", 1, 2, "x")], [], "0 groups")):
    fig, ax = plt.subplots()
    plt.close(fig)
    try:
        gantt(rows, ax, groups)
        message = "no error"
    except ValueError as error:
        message = str(error)
    assert value in message, message

# %% [markdown]
# In the upper chart each operation takes $t_1+t_2+t_3$, so $n$ of them take $n(t_1+t_2+t_3)$.
# In the lower one the back end never runs dry if $t_2\ge t_1$, and the total is $t_1+nt_2+t_3$.
# If $t_2<t_1$, the back end is the one that waits, and the total is $nt_1+t_2+t_3$.
# If $m$ divides $n$, both modes and everything in between are cases of one formula,
#
# $$T_m=n\max(t_1,t_2)+\frac nm\big(\min(t_1,t_2)+t_3\big), \tag{13.2.2}$$
#
# with $m=1$ for a program that waits each time and $m=n$ for one that waits at the end: between two reads the slower worker sets the pace, and each read costs the time of the other worker and that of the reading.
# Exercise 1 derives it.
# For $n=20$ operations with $t_1=5$, $t_2=10$ and $t_3=0$ milliseconds, $T_1=300$ and $T_{20}=205$ milliseconds.
# For large $n$ the ratio of the two tends to $(t_1+t_2+t_3)/\max(t_1,t_2)$.
# If reading costs nothing, it is at most 2, a value reached where $t_1=t_2$, and near 1 where one of the two dominates: overlap hides the smaller of them behind the larger, and no more.
# An expensive read has no such limit, since a program that waits at the end pays for it once.

# %%
# check: the formula equals the schedule, for both orders of the times
def predicted(n, t1, t2, t3=0, m=None):
    """Time (13.2.2) of n operations with a read after every m, or n."""
    return n * max(t1, t2) + n // (m or n) * (min(t1, t2) + t3)


for t1, t2, t3 in ((5, 10, 0), (2, 3, 1), (3, 2, 4), (4, 4, 4), (7, 1, 0)):
    for m in (1, 2, 4, 5, 10, 20):
        _, total = schedule(20, t1, t2, t3, every=m)
        assert total == predicted(20, t1, t2, t3, m)
assert schedule(20, 5, 10, every=1)[1] == 300
assert schedule(20, 5, 10)[1] == 205 == predicted(20, 5, 10)
for (t1, t2, t3), ratio in {(4, 4, 0): 2, (4, 100, 0): 1.04,
                            (1, 1, 50): 52}.items():
    gain = predicted(10**6, t1, t2, t3, 1) / predicted(10**6, t1, t2, t3)
    assert abs(gain - ratio) < 0.01

# %% [markdown]
# ## A toy back end
#
# Now a real one: a thread that takes functions from a queue.
# Its time to execute is a sleep, during which Python can do other things, as it can while a GPU works.
# `submit` returns a *handle* at once, a promise of a result; `wait` blocks until the result is there.
# Such objects are also called futures, and `concurrent.futures.ThreadPoolExecutor(max_workers=1)` of the standard library does most of this.
# We write our own to see the parts.

# %%
class Handle:
    """A result that may not exist yet."""

    def __init__(self, backend):
        self.backend, self.done = backend, threading.Event()
        self.value = self.error = None

    def result(self):
        """Block until done; then the result, or the error, of the work."""
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.value

    def wait(self):
        """The same for the front end, counted."""
        self.backend.waits += 1
        return self.result()

    def compute(self, fn, args):
        """For the back end: do the work and keep its result or error."""
        try:
            self.value = fn(*(a.result() if isinstance(a, Handle) else a
                              for a in args))
        except Exception as error:
            self.error = error

# %%
class ToyBackend:
    """A worker that executes what is submitted, in this order."""

    def __init__(self, exec_time=0.0, limit=0):
        self.exec_time, self.tasks = exec_time, queue.Queue(limit)
        self.waits, self.longest, self.stamps, self.error = 0, 0, [], None
        self.worker = threading.Thread(target=self.work, daemon=True)
        self.worker.start()

    def submit(self, fn, *args):
        """Queue fn(*args); handles among args stand for their results."""
        handle = Handle(self)
        self.tasks.put((handle, fn, args))
        self.longest = max(self.longest, self.tasks.qsize())
        return handle

    def synchronize(self):
        """Block until all is done, then raise the first new error, if any."""
        self.waits += 1
        self.tasks.join()
        error, self.error = self.error, None
        if error:
            raise error

    def work(self):
        while (task := self.tasks.get()) is not None:
            (handle, fn, args), start = task, time.perf_counter()
            time.sleep(self.exec_time)
            handle.compute(fn, args)
            self.error = self.error or handle.error
            self.stamps.append((start, time.perf_counter()))
            handle.done.set()
            self.tasks.task_done()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tasks.put(None)  # ends the thread after all tasks
        self.worker.join()

# %% [markdown]
# The arguments of an operation may be handles.
# Take $z=xy+2$: it depends on $x$ and $y$, and the front end need not wait for either of them.
# It passes the handles on, and the back end looks the values up when it gets there.
# Because the queue keeps the order, they exist by then; this is all the dependency tracking that a single queue needs.
# (With several workers, dependencies have to be followed one by one: [Section 13.3](03-auto-parallelism.ipynb).)
#
# In the check below the first task is a closed gate, so nothing behind it can be executed until we open it.
# Meanwhile the program for $z$ is issued to its end.

# %%
# check: a whole expression is issued while nothing of it is computed
gate = threading.Event()
with ToyBackend() as backend:
    backend.submit(gate.wait, 10)  # seconds at most
    x = backend.submit(torch.ones, 1, 2)
    y = backend.submit(torch.full, (1, 2), 3.0)
    z = backend.submit(lambda x, y: x * y + 2, x, y)
    assert backend.waits == 0
    assert not (x.done.is_set() or y.done.is_set() or z.done.is_set())
    gate.set()
    assert z.wait().tolist() == [[5.0, 5.0]]
    backend.submit(int)
    assert backend.waits == 1 and backend.longest >= 3

# %%
# check 13.2-C3: results in the order of issue, equal to a direct computation
rng = torch.Generator().manual_seed(0)
matrices, order = torch.rand(8, 30, 30, generator=rng), []


def square(k):
    order.append(k)
    return matrices[k] @ matrices[k]


with ToyBackend(0.002) as backend:  # slow enough for a queue to form
    handles = [backend.submit(square, k) for k in range(8)]
    results = [handle.wait() for handle in handles]
    unread = [backend.submit(int) for _ in range(8)]
assert all(handle.done.is_set() for handle in unread)  # leaving waits, too
assert order == list(range(8))
for result, A in zip(results, matrices, strict=True):
    assert torch.equal(result, A @ A)

# %% [markdown]
# The order has a second use: waiting for one result is waiting for everything issued before it, and for nothing issued after it.
# A point where the program waits for all earlier work is called a *barrier*; here a read of the newest result is one.

# %%
# check 13.2-C4: when item 5 is there, so are those before it
gate = threading.Event()
with ToyBackend() as backend:
    handles = [backend.submit(time.sleep, 0.005 * (5 - k)) for k in range(5)]
    last = backend.submit(int)
    later = [backend.submit(gate.wait, 10) for _ in range(3)]
    last.wait()
    assert all(handle.done.is_set() for handle in handles)
    assert not any(handle.done.is_set() for handle in later)
    gate.set()

# %% [markdown]
# Errors can be late, too.
# PyTorch notices two shapes that do not fit at the call, even on a GPU, because shapes are known without the numbers; our toy, which only runs what it is handed, notices even that late.
# An index out of range is noticed when it is used: in the back end, while the front end is already somewhere else.
# Such an error must not be lost.
# Our back end keeps it with the handle, and raises it where somebody waits for the result or for one that depends on it.
# `synchronize` raises the first new error only, and leaving the `with` block raises none, so somebody has to ask.
# The traceback then points at the line that waited and not at the one that was wrong.
# It is the same on a GPU, except that CUDA has no handles: the error may come out of any later call, and after a failed assertion on the device, which is what a wrong index leads to, the process cannot use that device again.
# The environment variable `CUDA_LAUNCH_BLOCKING=1` turns this asynchronous execution off, for debugging: the error then comes out where it was caused.

# %%
# check 13.2-C5: an error comes at wait(), and later work goes on
table = torch.arange(5.0)
with ToyBackend() as backend:
    wrong = backend.submit(operator.getitem, table, torch.tensor([7]))
    depends = backend.submit(torch.neg, wrong)
    right = backend.submit(torch.neg, torch.ones(1))
    backend.submit(operator.getitem, table, torch.tensor([9]))
    for ask in (wrong.wait, depends.wait, backend.synchronize):
        try:
            ask()
            message = "no error"
        except IndexError as error:
            message = str(error)
        assert "index 7" in message, message
    assert right.wait().item() == -1
    backend.synchronize()  # which raises an error once
print(message)

# %% [markdown]
# ## Measured
#
# Does the formula hold for the thread?
# The front end sleeps for $t_1$, as if it were Python with something to work out, and submits.

# %%
def pipeline_time(n, t1, t2, sync, rows=None):
    """Seconds for n operations; with sync, each result is waited for.

    To rows are added (lane, start, end, number), in seconds.
    """
    rows = [] if rows is None else rows
    with ToyBackend(t2) as backend:
        zero = time.perf_counter()
        for k in range(1, n + 1):
            begin = time.perf_counter() - zero
            time.sleep(t1)
            rows.append(("Python", begin, time.perf_counter() - zero, k))
            handle = backend.submit(int, k)
            if sync:
                handle.wait()
        assert handle.wait() == n
        seconds = time.perf_counter() - zero
        rows.extend(("back end", start - zero, end - zero, k) for
                    k, (start, end) in enumerate(backend.stamps, start=1))
    return seconds


def fastest(n, t1, t2, runs=repeats):
    """Best time with and without waiting, the two measured in turn."""
    seconds = [[pipeline_time(n, t1, t2, sync) for sync in (True, False)]
               for _ in range(runs)]
    return [min(column) for column in zip(*seconds, strict=True)]

# %% tags=["timing"]
# check 13.2-C1: executing takes longer than issuing, and hides it
waiting, ahead = fastest(20, 0.005, 0.010, runs=6)
print(f"waiting: {waiting:.3f} s, predicted {predicted(20, 5, 10, m=1)} ms")
print(f"ahead:   {ahead:.3f} s, predicted {predicted(20, 5, 10)} ms")
assert waiting >= 0.3 and 0.205 <= ahead < 0.8 * waiting

# %% [markdown]
# A sleep lasts at least as long as asked for, and mostly longer, so the times lie above the prediction: a little on an idle computer, more on a busy one.
# According to the formula, running ahead saves nearly a third.
#
# If issuing takes ten times as long as executing, there is little to save: the back end is idle most of the time in both modes.
# Many small operations on a fast GPU are a case of this kind; we return to it below.

# %% tags=["timing"]
# check 13.2-C2: issuing takes ten times as long, and little is gained
waiting, ahead = fastest(5, 0.080, 0.008)
print(f"waiting: {waiting:.3f} s, predicted {predicted(5, 80, 8, m=1)} ms")
print(f"ahead:   {ahead:.3f} s, predicted {predicted(5, 80, 8)} ms")
assert waiting >= 0.44 and 0.408 <= ahead and waiting < 1.35 * ahead

# %% tags=["timing", "hide-input"]
recorded = {sync: [] for sync in (True, False)}
fig, axes = plt.subplots(2, 1, figsize=(7, 3.4), layout="constrained",
                         sharex=True)
for ax, (sync, rows) in zip(axes, recorded.items(), strict=True):
    pipeline_time(8, 0.005, 0.010, sync, rows)
    gantt([(lane, 1000 * start, 1000 * end, k)
           for lane, start, end, k in rows], ax, xlabel="time in ms")
    ax.set_title("waiting for each result" if sync else "running ahead")
axes[0].set(xlabel="", xlim=(0, None))
d2l.describe(fig, """Recorded Gantt charts of eight operations. Above, Python
    and the back end take turns; below, the bars of the back end follow one
    another without a gap while Python is done after a fraction of the
    time.""")

# %% [markdown]
# **Figure 13.2.2.** Recorded, not computed: two runs of the toy back end, 5 ms to issue and 10 ms to execute.
# Above, one worker at most is busy at any time; below, both are, from the first hand-over until Python has issued everything.

# %% tags=["timing"]
# check: the recorded times obey (13.2.1), and only running ahead overlaps
def both_busy(rows):
    """Time for which Python and the back end were busy at once."""
    python, back = ([(start, end) for lane, start, end, _ in rows
                     if lane == name] for name in ("Python", "back end"))
    return sum(max(0, min(p[1], b[1]) - max(p[0], b[0]))
               for p in python for b in back)


for sync, rows in recorded.items():
    issued = [end for lane, _, end, _ in rows if lane == "Python"]
    spans = [row[1:3] for row in rows if row[0] == "back end"]
    free = 0
    for a, (start, end) in zip(issued, spans, strict=True):
        assert start >= max(a, free) and end >= start + 0.010
        free = end
    issuing = sum(row[2] - row[1] for row in rows if row[0] == "Python")
    share = both_busy(rows) / issuing
    print(f"{share:.0%} of the issuing overlaps")
    assert share == 0 if sync else share > 0.3

# %% tags=["timing", "hide-input"]
counts = [1, 4, 8, 12, 16]
seconds = list(zip(*(fastest(n, 0.005, 0.010) for n in counts), strict=True))
lines = [[predicted(n, 5, 10, m=m) for n in counts] for m in (1, None)]
for line, values in zip(lines, seconds, strict=True):  # none below its line
    assert all(1000 * v >= time for v, time in zip(values, line, strict=True))
ax = d2l.plot(counts, lines,
              ["waiting, predicted", "ahead, predicted"],
              xlabel="number of operations", ylabel="time in ms")
for marker, name, values in zip("os", ("waiting", "ahead"), seconds,
                                strict=True):
    ax.plot(counts, [1000 * value for value in values], marker,
            color="C1" if name == "ahead" else "C0",
            label=f"{name}, measured")
ax.legend()
d2l.describe(ax, """Time against the number of operations: two straight lines
    from the formula, the one for running ahead with two thirds of the slope
    of the other, and measured points near them, none below its line.""")

# %% [markdown]
# **Figure 13.2.3.** The time grows by $t_1+t_2$ per operation if Python waits, and by $\max(t_1,t_2)$ if it runs ahead.

# %% [markdown]
# ## How far to run ahead
#
# If issuing is faster than executing, the queue grows.
# When the last of $n$ operations has been issued, at time $nt_1$ with $t_1<t_2$, about $nt_1/t_2$ of them have been started, and
#
# $$n\Big(1-\frac{t_1}{t_2}\Big) \tag{13.2.3}$$
#
# are waiting.
# With a read after every $m$ operations it is $m$ instead of $n$, and with a read after each the queue never holds more than one.

# %%
def queue_length(rows):
    """Times at which the queue changes, and its length from then on."""
    issued = [end for lane, _, end, k in rows if lane == "Python" and k != "r"]
    started = [start for lane, start, _, _ in rows if lane == "back end"]
    times = sorted({*issued, *started})
    return times, [sum(t <= now for t in issued)
                   - sum(t <= now for t in started) for now in times]


def longest_queue(*args, **kwargs):
    """Most operations that wait at one time in a schedule."""
    return max(queue_length(schedule(*args, **kwargs)[0])[1])


# check: the exact schedule has the queue of the formula
for n, t1, t2 in ((20, 5, 10), (40, 1, 2), (30, 1, 10), (50, 4, 5)):
    assert abs(longest_queue(n, t1, t2) - n * (1 - t1 / t2)) <= 2
    in_tens = longest_queue(n, t1, t2, every=10)
    assert abs(in_tens - 10 * (1 - t1 / t2)) <= 2
    assert longest_queue(n, t1, t2, every=1) <= 1

# %% tags=["timing"]
# check 13.2-C5: so has the thread's, for the times that were measured
def queue_error(n, t1, t2):
    """Longest queue of one run, and how far off (13.2.3) is."""
    rows = []
    pipeline_time(n, t1, t2, False, rows)
    issued = max(row[2] for row in rows if row[0] == "Python")
    executed = statistics.mean(end - start for lane, start, end, _ in rows
                               if lane == "back end" and start <= issued)
    longest = max(queue_length(rows)[1])
    return abs(longest - n * (1 - issued / n / executed)), longest


error, longest = min(queue_error(20, 0.010, 0.040) for _ in range(repeats))
print(f"longest queue: {longest} of 20")
assert error <= 2 and longest >= 4
rows = []
pipeline_time(10, 0.005, 0.010, True, rows)
assert max(queue_length(rows)[1]) <= 1

# %% tags=["hide-input"]
fig, (ax, right) = plt.subplots(1, 2, figsize=(9, 3.0), layout="constrained")
styles = {None: "-", 10: "--", 1: ":"}
for every, style in styles.items():
    times, lengths = queue_length(schedule(40, 1, 2, 1, every)[0])
    ax.plot([0, *times], [0, *lengths], style, drawstyle="steps-post",
            label="read at the end" if every is None else
            f"read after every {every}" if every > 1 else "read after each")
ax.set(xlabel="time in ms", ylabel="operations in the queue")
ax.legend(fontsize=8)
group = [1, 2, 4, 5, 8, 10, 20, 40]
d2l.plot(group, [
    [schedule(40, 1, 2, 1, m)[1] / predicted(40, 1, 2, 1) for m in group],
    [longest_queue(40, 1, 2, 1, m) / 20 for m in group]],
    ["total time / shortest", "longest queue / longest possible"],
    xlabel="operations between two reads", ylabel="ratio", xscale="log",
    ax=right,
    fmts=("o-", "s--"))
right.set_xticks(group, [str(m) for m in group])
right.minorticks_off()
right.legend(fontsize=8)
d2l.describe(fig, """Left, the queue over time: it grows to 20 and shrinks
    again if one reads at the end, is a sawtooth that reaches 5 with a read
    after every 10, and stays at 0 with a read after each. Right, against
    the operations between two reads: the total time falls fast to nearly
    the shortest, the queue grows in proportion.""")

# %% [markdown]
# **Figure 13.2.4.** Forty operations with $t_1=1$, $t_2=2$ and $t_3=1$ ms, from the exact schedule.
# Right: the first few operations between two reads save most of the time; beyond, the queue grows and there is little left to save.
#
# By (13.2.2) the cost of reading falls as $1/m$, whereas the queue grows in proportion to $m$.
# A program gains little by running further ahead than is needed to make $\frac1m\big(\min(t_1,t_2)+t_3\big)$ small, and a long queue has a price.
# Late errors come later still, and so does the answer to an interrupt.
# How much memory it costs depends on the system.
# In our toy, each waiting task keeps its arguments alive.
# PyTorch reserves memory on a GPU when the operation is issued; memory that Python gives back goes to later operations of the same queue without waiting, because these also run later, so there a longer queue need not hold more tensors.
# A customary rule is at most one read per minibatch: where a minibatch consists of hundreds of operations, $m$ is in the hundreds, and each operation bears a small share of the cost.

# %%
# check: with a read after every ten, under 10 % longer and a queue of 5
totals = {m: schedule(40, 1, 2, 1, m)[1] for m in group}
assert totals[10] < 1.1 * totals[40] and totals[1] > 1.9 * totals[40]
assert [longest_queue(40, 1, 2, 1, m) for m in (1, 10, 40)] == [0, 5, 20]

# %% [markdown]
# ## What makes Python wait
#
# On CUDA, an operation is carried out by one or more kernels, programs for the device, and launching a kernel returns at once, says NVIDIA's programming guide.
# PyTorch puts the kernels into a queue, called a *stream*, which executes them in the order in which they were issued.
# A device can have several streams; a program that asks for no other uses one.
# `torch.cuda.synchronize()` waits for everything, in all streams of a device.
# An *event* (`torch.cuda.Event`) is a mark in a stream: `event.synchronize()` waits until the stream has passed it, and two events that were made with `enable_timing=True` tell the time between them.
#
# Most waiting is not written as such.
# It hides in operations that need a number in Python: `.item()`, `.tolist()`, `.cpu()`, `print(x)`, an `if` on a tensor, `x[mask]`, whose shape depends on values.
# A tensor on the device `meta` has a shape and no numbers ([Section 6.7](../06-builders-guide/07-gpus.ipynb)), so what succeeds there has used none.
# This gives a test that runs without a GPU.

# %%
def needs_value(fn):
    """Whether fn(x) asks for numbers of x, tried on an x without any."""
    try:
        fn(torch.empty(3, 4, device="meta"))
    except (RuntimeError, TypeError) as error:
        if "meta" not in str(error).lower():
            raise  # something else is wrong with fn, such as a shape
        return True
    return False


asks = {"x.sum().item()": lambda x: x.sum().item(),
        "x.tolist()": lambda x: x.tolist(),
        "x.cpu().numpy()": lambda x: x.cpu().numpy(),
        "-x if x.sum() > 0 else x": lambda x: -x if x.sum() > 0 else x,
        "x[x > 0].sum()": lambda x: x[x > 0].sum(),
        "x.nonzero()": lambda x: x.nonzero(),
        "x[x[:, 0].argmax()]": lambda x: x[x[:, 0].argmax()]}
issues = {"x.sum()": lambda x: x.sum(),
          "torch.where(x.sum() > 0, -x, x)":
              lambda x: torch.where(x.sum() > 0, -x, x),
          "torch.where(x > 0, x, 0).sum()":
              lambda x: torch.where(x > 0, x, 0).sum(),
          "x.index_select(0, x[:, :1].argmax(0))":
              lambda x: x.index_select(0, x[:, :1].argmax(0)),
          "x.shape[0]": lambda x: x.shape[0]}
for text, fn in (asks | issues).items():
    print(f"{text:38} {'needs a number' if needs_value(fn) else 'does not'}")

# %%
# check: each blocker is found, and each replacement computes the same
assert all(needs_value(fn) for fn in asks.values())
assert not any(needs_value(fn) for fn in issues.values())
asking, issuing = list(asks.values()), list(issues.values())
rng = torch.Generator().manual_seed(2)
for sign in (1, -1):  # take both branches
    x = torch.randn(3, 4, generator=rng) + sign
    for a, b in ((0, 0), (3, 1), (4, 2), (6, 3)):
        one, other = asking[a](x), issuing[b](x)
        torch.testing.assert_close(torch.as_tensor(one).flatten(),
                                   other.flatten())

# %% [markdown]
# Four of the lines that need a number have a replacement further down: leave the sum where it is, let `torch.where` choose, mask with a value instead of selecting, and select by an index that is a vector.
# A whole training step passes as well, until somebody logs the loss.

# %%
def training_step(x, log):
    """One step of a new linear classifier; with log, the loss is fetched."""
    net = torch.nn.Linear(4, 2, device=x.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    y = torch.zeros(len(x), dtype=torch.long, device=x.device)
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss.item() if log else loss.detach()


# check: only the loss in the log needs a number
assert not needs_value(lambda x: training_step(x, log=False))
assert needs_value(lambda x: training_step(x, log=True))

# check: a wrong shape is noticed without numbers, a wrong index is not
try:
    needs_value(lambda x: x @ x)
    message = "no error"
except RuntimeError as error:
    message = str(error)
assert "[3, 4] X [3, 4]" in message, message
assert not needs_value(lambda x: x[torch.tensor([7])])

# %% [markdown]
# The test gives a hint, and errs on both sides.
# Some operations wait although they pass.
# `print(x)` and an f-string with `x` get by without numbers on `meta`, but not on a GPU.
# `x[mask] = y` with a vector `y` looks for the places by `nonzero`, which waits on CUDA, says its documentation.
# `torch.linalg.inv` looks whether the inversion has succeeded and therefore waits on CUDA, says its documentation; `torch.linalg.inv_ex` leaves that to you.
# A copy to the device from ordinary memory waits although it needs no result; `non_blocking=True` from pinned memory does not ([Section 6.7](../06-builders-guide/07-gpus.ipynb)).
# Conversely, a function can fail without needing a number: because a tensor that it makes lies on the CPU, as the error message then says, or because PyTorch lacks the operation for `meta`.
# In the latter case the message does not settle the matter, for it is the same with `x.unique()`, the shape of whose result does depend on the numbers.

# %%
# check: passes, but waits on CUDA; fails, but its result has a known shape
assert not needs_value(lambda x: torch.linalg.inv(x @ x.mT))
assert not needs_value(str)
assert needs_value(lambda x: torch.geqrf(x)[0])
assert needs_value(lambda x: x.numpy())

# %% [markdown]
# On a machine with CUDA the waits themselves can be counted.
# In the mode `"warn"`, PyTorch warns at each operation of which it knows that it waits; the documentation calls this experimental and not complete.

# %%
def count_syncs(fn):
    """Number of waits during fn() that PyTorch reports, on CUDA."""
    before = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # each time, not once per line
            torch.cuda.set_sync_debug_mode("warn")
            fn()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum("called a synchronizing" in str(w.message) for w in caught)


# check: it counts every such warning and no other, and restores the mode
modes = []


def reports(error=None):
    for _ in range(3):
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
    warnings.warn("something else", stacklevel=1)
    if error:
        raise error


with mock.patch.multiple(torch.cuda, get_sync_debug_mode=lambda: 2,
                         set_sync_debug_mode=modes.append):
    assert count_syncs(reports) == 3 and modes == ["warn", 2]
    try:
        count_syncs(lambda: reports(OSError()))
    except OSError:
        modes.append("raised")
    assert modes == ["warn", 2, "warn", 2, "raised"]

# %%
# check 13.2-C6: fetching n losses waits n times, adding them up does not
if torch.cuda.device_count() > 0:
    losses = torch.rand(50, device="cuda")

    def fetch_each():
        return sum(loss.item() for loss in losses)

    def keep_running():
        total = torch.zeros((), device="cuda")
        for loss in losses:
            total += loss
        return total

    assert count_syncs(fetch_each) == 50 and count_syncs(keep_running) == 0
    assert abs(fetch_each() - keep_running().item()) < 1e-3
    x = torch.randn(3, 4, device="cuda")
    steps = {f"training_step(x, log={log})":
             lambda x, log=log: training_step(x, log) for log in (True, False)}
    for text, fn in (asks | issues | steps).items():
        print(f"{text:38} {count_syncs(lambda fn=fn: fn(x))} waits")
else:
    print("skipped: this machine has no CUDA device")

# %% [markdown]
# The running total is what `DeviceMeter` of Section 6.7 keeps; Exercise 4 does it with the toy.
#
# ## Timing what is done behind your back
#
# A clock in Python shows what Python does.
# Timing the work of the back end takes three precautions: run it once beforehand, since first calls do extra work; wait before the first reading, or the clock also shows what was still in the queue; wait before the second, or it shows the issuing alone.

# %% tags=["timing"]
def clocked(before, after):
    """Seconds that a clock shows for two operations of 50 ms each.

    Twenty others are still in the queue; before and after: whether to
    wait before the first and before the second reading. Also returns how
    many operations were done between the two readings.
    """
    with ToyBackend(0.050) as backend:
        for _ in range(20):
            backend.submit(int)
        if before:
            backend.synchronize()
        done, start = len(backend.stamps), time.perf_counter()
        for _ in range(2):
            backend.submit(int)
        if after:
            backend.synchronize()
        return time.perf_counter() - start, len(backend.stamps) - done


shown = {(b, a): clocked(b, a) for b, a in ((0, 0), (0, 1), (1, 1))}
for (before, after), (seconds, done) in shown.items():
    print(f"wait before: {before}, wait after: {after}: {seconds:.3f} s, "
          f"{done} operations done")

# check: the last line has the two operations, the others fewer or more
assert shown[1, 1][1] == 2 and shown[1, 1][0] >= 0.1
assert shown[0, 0][1] < 2 and shown[0, 1][1] > 10

# %% [markdown]
# Only the last line is right.
# On a GPU, `torch.cuda.synchronize()`, or for any accelerator `torch.accelerator.synchronize()`, takes the place of `backend.synchronize()`.
# `torch.utils.benchmark.Timer` warms up, synchronizes where needed, and uses one thread unless told otherwise.

# %% tags=["timing"]
# a machine with CUDA's compiler and no GPU is no reason for a warning
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
from torch.utils.benchmark import Timer  # noqa: E402

A = torch.rand(300, 300, generator=torch.Generator().manual_seed(1))
timer = Timer("A @ A", globals={"A": A})
means = [timer.timeit(10).mean for _ in range(7)]  # each after a warm-up
print(f"{1000 * statistics.median(means):.3f} ms for a product, the median "
      "of 7 means of 10")

# %% [markdown]
# The next cell shows how long ten large products take to issue on a CUDA device, and how long until they are done.

# %% tags=["timing"]
if torch.cuda.device_count() > 0:
    A = torch.rand(4096, 4096, device="cuda")

    def ten_products():
        for _ in range(10):
            A @ A

    ten_products()  # warm-up
    torch.cuda.synchronize()
    start = time.perf_counter()
    ten_products()
    issued = time.perf_counter() - start
    torch.cuda.synchronize()
    total = time.perf_counter() - start
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}: "
          f"issued after {1e3 * issued:.3f} ms, done after "
          f"{1e3 * total:.3f} ms")
else:
    print("skipped: this machine has no CUDA device")

# %% [markdown]
# This edition was made without a CUDA device, so no time of one stands here.
#
# ## When issuing is the bottleneck
#
# If $t_1>t_2$, (13.2.2) leaves two remedies: fewer operations or cheaper issuing.
# Fewer and larger operations come from larger batches, and from a compiler that fuses several into one ([Section 13.1](01-compile.ipynb)).
# Issuing becomes cheap with a *CUDA graph*: a sequence of operations is recorded once and from then on issued with a single call, for tensors of the same shapes at the same addresses.
# `torch.compile(mode="reduce-overhead")` does this for you; below it is done by hand.

# %% tags=["timing"]
if torch.cuda.device_count() > 0:
    x = torch.rand(1000, device="cuda")

    def many_small(x):
        for _ in range(200):
            x = x * 0.999 + 0.001
        return x

    side = torch.cuda.Stream()  # the warm-up must not run in the main one
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        many_small(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = many_small(x)
    for _ in range(2):
        x.copy_(torch.rand(1000))  # new numbers at the same address
        graph.replay()
        torch.testing.assert_close(y, many_small(x))
    for name, stmt in (("one by one", "many_small(x)"),
                       ("graph", "graph.replay()")):
        timer = Timer(stmt, globals=globals()).blocked_autorange()
        print(f"{name}: {1e3 * timer.median:.3f} ms")
else:
    print("skipped: this machine has no CUDA device")

# %% [markdown]
# ## Where PyTorch is asynchronous on a CPU
#
# PyTorch's operators on a CPU return when they are done; Exercise 3 checks this for a matrix product.
# Communication between processes is different.
# `all_reduce` replaces a tensor in each process by the sum over all; with `async_op=True` it returns a handle, and the process can compute while the numbers travel, which [Section 13.6](06-ddp-fsdp.ipynb) uses to hide the communication of gradients.
# In the script below, process 1 joins only after process 0 has told it to.
# So process 0 returns from `all_reduce` before the sum can exist, and it is there after `wait()`.

# %%
def late_sum():
    """Sum a vector over two processes, one of which joins late."""
    dist.init_process_group("gloo")
    rank, signal = dist.get_rank(), torch.zeros(1)
    x = torch.arange(4.0) + 10 * rank
    if rank == 1:
        dist.recv(signal, src=0)  # until process 0 is past its call
    work = dist.all_reduce(x, async_op=True)
    early = work.is_completed()
    if rank == 0:
        meanwhile = sum(range(101))  # something else to do
        dist.send(signal, dst=1)
    work.wait()
    if rank == 0:
        print(json.dumps({"early": early, "sum": x.tolist(),
                          "meanwhile": meanwhile}))
    dist.destroy_process_group()


script = d2l.write_script("late_sum.py", "import json", "import torch",
                          "import torch.distributed as dist", late_sum,
                          "late_sum()")
answer = json.loads(d2l.torchrun(script, nproc=2).stdout)
print(answer)

# check: the call returned before the sum was there; wait() has it
assert answer == {"early": False, "sum": [10.0, 12.0, 14.0, 16.0],
                  "meanwhile": 5050}

# %% [markdown]
# Other systems run ahead as well.
# MXNet (2015) passed the operations on its arrays to an engine that tracked which data each reads and writes; JAX dispatches asynchronously and returns arrays that are futures.
# Programs that serve large language models carry the idea one level up: TensorRT-LLM, for one, issues step $n+1$ before the CPU has checked whether step $n$ ended the text, at the price of one extra step.

# %% [markdown]
# ## Summary
#
# - With a read after every $m$ of $n$ operations, the total is $n\max(t_1,t_2)+\frac nm(\min(t_1,t_2)+t_3)$.
# - Overlap hides the smaller of issuing and executing behind the larger; where issuing is the larger, issue less: larger operations, compilation, CUDA graphs.
# - If issuing is faster, the queue grows in proportion to $m$, while the cost of reading falls as $1/m$; once per minibatch is often enough.
# - One queue keeps the order: a result implies all before it, and a late error comes out of a later call, in the toy where somebody waits.
# - The device `meta` hints at what makes Python wait on a GPU; `set_sync_debug_mode` reports many waits on CUDA.
# - Warm up, and wait before both readings of the clock.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 13.2-1
#
# Let the times vary: operation $k$ has been issued at time $a_k$ and takes $e_k$ to execute.
# Solve the recursion (13.2.1) for $f_n$, and derive (13.2.2) from the solution.
# What is the total if $t_2<t_1$, and does the toy back end agree?

# %% [markdown]
# #### Solution 13.2-1

# %% [markdown]
# Insert the recursion into itself: $f_n=\max(a_n+e_n,\ f_{n-1}+e_n)=\max(a_n+e_n,\ a_{n-1}+e_{n-1}+e_n,\ \dots)$, hence
#
# $$f_n=\max_{1\le j\le n}\Big(a_j+\sum_{i=j}^ne_i\Big).$$
#
# The best $j$ is the last operation that found the back end idle.
# With $a_j=jt_1$ and $e_i=t_2$, the bracket is $jt_1+(n-j+1)t_2$, linear in $j$, and largest at one of its ends: $t_1+nt_2$ if $t_2\ge t_1$, and $nt_1+t_2$ otherwise.
# Both are $n\max(t_1,t_2)+\min(t_1,t_2)$; the read adds $t_3$.
# After a read both workers are idle and everything begins anew, so $n/m$ groups of $m$ operations take $\frac nm\big(m\max(t_1,t_2)+\min(t_1,t_2)+t_3\big)$, which is (13.2.2).
#
# The toy takes a little longer than $nt_1+t_2$, because its sleeps do; put the measured times into the solution, and it is late by the hand-over alone.

# %% tags=["timing"]
rng = random.Random(3)
for _ in range(100):
    durations = [rng.randrange(1, 20) for _ in range(15)]
    rows, total = schedule(15, 7, durations)
    assert total == max(7 * (j + 1) + sum(durations[j:]) for j in range(15))
assert schedule(10, 7, 4, 2)[1] == 10 * 7 + 4 + 2
waiting, ahead = fastest(10, 0.040, 0.030)
print(f"waiting: {waiting:.3f} s, predicted {predicted(10, 40, 30, m=1)} ms")
print(f"ahead:   {ahead:.3f} s, predicted {predicted(10, 40, 30)} ms")
assert waiting >= 0.7 and 0.43 <= ahead < 0.8 * waiting


def lateness(rows):
    """Actual end of a recorded run relative to the solution, minus 1."""
    a = [row[2] for row in rows if row[0] == "Python"]
    spans = [row[1:3] for row in rows if row[0] == "back end"]
    e = [end - start for start, end in spans]
    return spans[-1][1] / max(a[j] + sum(e[j:]) for j in range(len(a))) - 1


late = []
for _ in range(repeats):
    rows = []
    pipeline_time(10, 0.040, 0.030, False, rows)
    late.append(lateness(rows))
print(f"later than the solution for the measured times: {min(late):.2%}")
assert -1e-9 <= min(late) < 0.1

# %% [markdown]
# ### Exercise 13.2-2
#
# Bound the queue to $q$ places: the front end waits for a place when all are taken.
# How large must $q$ be so that no time is lost, if the times are constant, and if they are not?

# %% [markdown]
# #### Solution 13.2-2

# %% [markdown]
# With constant times one place is enough.
# If issuing is faster, the next operation is always in the queue when the back end becomes free; if it is slower, the queue is empty anyway.
# With times that vary, a longer queue is a store: it fills while long operations run, and feeds the back end during short ones.
# As many places as the queue without a bound ever needs are always enough, because then Python never finds it full; often fewer will do.
# Below, five operations of 11 ms and five of 1 ms alternate, issuing takes 6 ms, and the longest queue of 5 is needed.

# %%
for t1, t2 in ((3, 8), (8, 3), (5, 5)):
    assert len({schedule(50, t1, t2, limit=q)[1]
                for q in (None, 1, 2, 4)}) == 1
    for q in (1, 2, 4):
        assert longest_queue(50, t1, t2, limit=q) <= q
bursts = 5 * ([11] * 5 + [1] * 5)
times = {q: schedule(50, 6, bursts, limit=q)[1] for q in (1, 2, 3, 4, 5)}
print(times, longest_queue(50, 6, bursts))
shortest = schedule(50, 6, bursts)[1]
assert min(q for q in times if times[q] == shortest) == 5
assert longest_queue(50, 6, bursts) == 5
rng = random.Random(4)
for _ in range(200):  # enough for any times
    t2 = [rng.randrange(1, 20) for _ in range(15)]
    enough = max(1, longest_queue(15, 7, t2))
    assert schedule(15, 7, t2, limit=enough) == schedule(15, 7, t2)
for q in (1, 3):  # the toy, which issues as fast as it can
    with ToyBackend(0.001, limit=q) as backend:
        results = [backend.submit(int, k) for k in range(20)]
        assert [r.wait() for r in results] == list(range(20))
    assert 1 <= backend.longest <= q

# %% [markdown]
# ### Exercise 13.2-3
#
# Does a product of two matrices on the CPU return before it is done?
# Compare the time of the call with that of the call and a read of the result.

# %% [markdown]
# #### Solution 13.2-3

# %% [markdown]
# No: after the call, reading a number takes next to no time.
# As a control, the same clock finds that the toy back end returns early: there the read takes nearly all of the time.

# %% tags=["timing"]
def call_and_read(call, read):
    """Seconds of the call alone, and of call and read: best of 15."""
    seconds = []
    for _ in range(15):
        start = time.perf_counter()
        result = call()
        called = time.perf_counter()
        read(result)
        seconds.append((called - start, time.perf_counter() - start))
    return [min(column) for column in zip(*seconds, strict=True)]


A = torch.rand(600, 600, generator=torch.Generator().manual_seed(4))
product = call_and_read(lambda: A @ A, lambda C: C[-1, -1].item())
with ToyBackend(0.020) as backend:
    toy = call_and_read(lambda: backend.submit(int), Handle.wait)
for name, (call, both) in (("product", product), ("toy", toy)):
    print(f"{name}: call {1e3 * call:.2f} ms, with read {1e3 * both:.2f} ms")
assert product[1] < 1.2 * product[0] and toy[1] > 5 * toy[0]

# %% [markdown]
# ### Exercise 13.2-4
#
# Train a linear model with the toy back end for two epochs of ten minibatches, and report the mean loss of each epoch: once by fetching the loss of every step, once with a running total in the back end.
# Count how often Python waits.

# %% [markdown]
# #### Solution 13.2-4

# %% [markdown]
# The total is a handle, and so is the loss; their sum is one more operation of the back end.
# Python waits once per epoch instead of once per step, and the numbers are the same.

# %%
def train(running):
    """Mean losses of two epochs, and how often Python waited."""
    rng = torch.Generator().manual_seed(5)
    X, w = torch.randn(10, 16, 3, generator=rng), torch.zeros(3)
    y = X @ torch.tensor([1.0, -2.0, 3.0])  # (10, 16): ten minibatches

    def step(X, y):
        error = X @ w - y
        w.sub_(0.1 * 2 * X.T @ error / len(y))
        return error.square().mean().item()

    means = []
    with ToyBackend() as backend:
        for _ in range(2):
            total = 0.0
            for batch in zip(X, y, strict=True):
                loss = backend.submit(step, *batch)
                if running:
                    total = backend.submit(operator.add, total, loss)
                else:
                    total += loss.wait()
            means.append((total.wait() if running else total) / len(X))
        return means, backend.waits


each, once = train(running=False), train(running=True)
print(f"fetching each: {each[1]} waits, running total: {once[1]}")
assert each[1] == 20 and once[1] == 2
assert each[0] == once[0] and once[0][1] < 0.1 * once[0][0]

# %% [markdown]
# ## Sources
#
# - NVIDIA, [CUDA programming guide, asynchronous execution](https://docs.nvidia.com/cuda/cuda-programming-guide/02-basics/asynchronous-execution.html): calls that return before the work is done; streams and events.
# - PyTorch documentation, [CUDA semantics](https://docs.pytorch.org/docs/stable/notes/cuda.html): the order of operations, late errors, `CUDA_LAUNCH_BLOCKING`, timing, memory.
# - PyTorch documentation, [torch.Tensor.record_stream](https://docs.pytorch.org/docs/stable/generated/torch.Tensor.record_stream.html): memory is reused in the order of one stream.
# - NVIDIA, [CUDA runtime API, data types](https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html): after `cudaErrorAssert`, the process has to be started anew.
# - PyTorch documentation, [torch.linalg.inv](https://docs.pytorch.org/docs/stable/generated/torch.linalg.inv.html): waits on CUDA; `inv_ex` does not.
# - PyTorch documentation, [torch.cuda.set_sync_debug_mode](https://docs.pytorch.org/docs/stable/generated/torch.cuda.set_sync_debug_mode.html): reports of waits, and their gaps.
# - PyTorch documentation, [performance tuning guide](https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html): what to avoid so that Python can run ahead.
# - PyTorch documentation, [torch.utils.benchmark](https://docs.pytorch.org/docs/stable/benchmark_utils.html): what `Timer` takes care of.
# - NVIDIA, [CUDA graph best practice for PyTorch](https://docs.nvidia.com/dl-cuda-graph/cuda-graph-basics/cuda-graph.html): one submission for many operations.
# - T. Chen et al. (2015). MXNet: a flexible and efficient machine learning library for heterogeneous distributed systems. [arXiv:1512.01274](https://arxiv.org/abs/1512.01274): an engine that tracks dependencies.
# - JAX documentation, [asynchronous dispatch](https://jax.readthedocs.io/en/latest/async_dispatch.html): arrays as futures.
# - NVIDIA, [TensorRT-LLM, overlap scheduler](https://nvidia.github.io/TensorRT-LLM/features/overlap-scheduler.html): the next step is issued before the last one is processed.
