# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu:
#         repeats: 31
#       smoke:
#         use_inductor: false
#         repeats: 7
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
# # 13.1 Compilers and interpreters
#
# Python runs a model line by line, and PyTorch starts each operation without knowing what the next will be.
# A compiler sees the operations before they run, and can drop, join and reorder them.
# How does it get to see a program that is written in Python, and when is that worth the wait?
#
# **You will**
#
# - tell eager, symbolic and traced execution apart, and read the graph that `torch.compile` captures;
# - count the graphs of a function, and find what breaks or recompiles them;
# - read a profile: which operation takes the time, and what a compiler could gain at most;
# - count what fusion removes, and after how many calls compiling has paid for itself;
# - save a model as a program that needs no class of yours.
#
# **Cost**: about a minute on a CPU, most of it for the C++ compiler; nothing to download. Without a C++ compiler a few cells say that they are skipped.

# %%
import contextlib
import dis
import io
import json
import logging
import math
import os
import re
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
import warnings
import weakref
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import num_gpus, try_gpu
from d2l_helpers.chapters.modern_cnns import BNLeNet

d2l.use_style()

# %% tags=["parameters"]
use_inductor = True  # generate and compile C++, if there is a compiler
repeats = 15  # timed calls after the first one

# %% [markdown]
# ## Interpret, or compile first
#
# PyTorch runs *eagerly*: each line is carried out when Python reaches it, and its result is a tensor with numbers in it.
# Such *imperative* programs are easy to write, print and debug.
# The price is that Python is asked again at every line of every call, and that nobody knows what comes next.
#
# In *symbolic* programming a program first builds a description of what should be computed, then hands it to a compiler, and only then runs it.
# All three steps fit into a few lines of Python, with text as the description:

# %%
def source(tree):
    """Python text of a sum, given as nested pairs of numbers or names."""
    if not isinstance(tree, tuple):
        return str(tree)
    left, right = tree
    return f"({source(left)} + {source(right)})"


def additions(code):
    """How many additions a compiled program carries out."""
    return sum(i.opname == "BINARY_OP" and i.argrepr == "+"
               for i in dis.get_instructions(code))


program = f"print({source(((1, 2), (3, 4)))})"  # define
code = compile(program, "<sum>", "exec")  # compile
print(program)
exec(code)  # run
print("additions left:", additions(code))

# %% [markdown]
# The text has three additions, and the compiled program has none.
# Python's own compiler saw that all operands are constants and replaced the sum by 10; this is called *constant folding*.
# With names in place of numbers it must leave all three additions to the run.

# %%
# check 13.1-C1: the program prints 10, and 10 is a constant in its code
with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(code)
assert printed.getvalue() == "10\n"
for text in (source(((1, 2), (3, 4))), "3 + 7"):
    folded = compile(text, "<sum>", "eval")
    assert 10 in [i.argval for i in dis.get_instructions(folded)]
    assert additions(folded) == 0 and eval(folded) == 10
names = compile(source((("a", "b"), ("c", "d"))), "<sum>", "eval")
assert additions(names) == 3
assert eval(names, dict(a=1, b=2, c=3, d=4)) == 10

# %% [markdown]
# Theano and the first TensorFlow were symbolic, Chainer and PyTorch chose eager execution, and the question has since been how to get the compiler back without giving up Python.
# PyTorch's first answer, TorchScript, compiled a subset of Python; it is deprecated, and the *Dive into Deep Learning* edition for PyTorch still builds its section on it.

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    torch.jit.script(nn.ReLU())
advice = str(caught[-1].message)
print(advice)
assert caught[-1].category is DeprecationWarning
assert "torch.compile" in advice and "torch.export" in advice

# %% [markdown]
# The answer since PyTorch 2 (2023; Ansel and others, 2024) is `torch.compile`:
#
# ![Two rows. Above, eager: bytecode of the function goes to the interpreter, one line at a time, which starts four kernels one after the other. Below, torch.compile, once for each set of guards: bytecode goes to Dynamo, which makes an FX graph and guards, then to AOTAutograd, forward and backward, then to Inductor, C++ or Triton, which makes a few fused kernels. At every call the guards are asked; if they hold, the kernels run, if not, Dynamo compiles again.](img/compile-pipeline.svg)
#
# **Figure 13.1.1.** Above: eager execution, where the interpreter works at every call and starts *kernels*, the compiled routines that do the arithmetic (not the kernels of a convolution).
# Below: `torch.compile` reads the bytecode once and leaves guards behind, which decide at each call whether the compiled code may be used.

# %% [markdown]
# Three parts do the work.
# *Dynamo* goes through the bytecode of the function, with stand-ins for the tensors, and writes down every tensor operation: the *FX graph*.
# This is *tracing*: Python runs once, symbolically, and the trace is kept.
# *AOTAutograd* derives the backward pass from this graph ahead of time.
# *Inductor* turns both into C++ on a CPU and into Triton code on most GPUs.
#
# ## Reading the graph
#
# What Dynamo hands on goes to a *backend*, which is any function that takes a graph and example inputs and returns something that can be called.
# Ours keeps the graph and generates no code, so it needs no C++ compiler.

# %% tags=["export"]
class Recorder:
    """A backend of torch.compile that keeps every graph and runs it as is."""

    def __init__(self):
        self.graphs = []

    def __call__(self, gm, example_inputs):
        self.graphs.append(gm)
        return gm.forward


def capture(fn, *args):
    """The graphs, a list of GraphModules, that fn(*args) is compiled into.

    Forgets whatever was compiled before, so that everything is traced anew.
    """
    torch.compiler.reset()
    recorder = Recorder()
    torch.compile(fn, backend=recorder)(*args)
    return recorder.graphs

# %%
def steps(x):
    a = x + 1
    b = a * 2
    c = b - 3
    return c / 4


graph, = capture(steps, torch.ones(3))
print(graph.code.strip())

# %% [markdown]
# The last column of this program is something that the interpreter could not do by itself.
# `a` is dropped (`a = None`) once `b` is known, because the graph shows that nobody asks for it again; in `steps` the name `a` keeps its tensor until the function returns.
# (Written as one nested expression, eager execution would free it as early; the graph frees it whatever the names are.)
# We count the tensors that are alive at the same time.

# %%
class Alive(TorchDispatchMode):
    """Counts how many results of operations exist at the same time."""

    def __init__(self):
        super().__init__()
        self.results, self.peak = [], 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        result = op(*args, **(kwargs or {}))
        self.results.append(weakref.ref(result))
        alive = sum(r() is not None for r in self.results)
        self.peak = max(self.peak, alive)
        return result


x, peaks = torch.ones(3), []
for fn in (steps, graph.forward):
    with Alive() as alive:
        fn(x)
    peaks.append(alive.peak)
print("eager, captured:", peaks)
assert peaks == [4, 2]  # three names and the result; operand and result

# %% [markdown]
# A network works the same way.
# Its parameters become inputs of the graph, and its submodules are gone.

# %%
def make_mlp():
    """512-256-128-2 with ReLU, the same numbers each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(512, 256), nn.ReLU(),
                         nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 2))


net = make_mlp()
X = torch.randn(64, 512, generator=torch.Generator().manual_seed(1))
graphs = capture(net, X)

# %% tags=["hide-input"]
def short(name):
    """The name of a parameter, without what Dynamo puts around it."""
    found = re.search(r"modules_(\d+)_parameters_(\w+?)_$", name)
    return f"{found[1]}.{found[2]}" if found else "X"


def draw_graph(gm, ax):
    """Operations from left to right, parameters below, shapes between."""
    ops = [n for n in gm.graph.nodes if n.op == "call_function"]
    style = dict(ha="center", va="center", fontsize=9)
    arrow = dict(arrowstyle="->", color="#222222", shrinkA=0, shrinkB=0)
    ends = [(0, 0.08), *((i, 0.19) for i in range(1, len(ops) + 1)),
            (len(ops) + 0.75, 0)]  # place and half width of each box
    shapes = [n.all_input_nodes[0].meta["example_value"].shape for n in ops]
    shapes.append(ops[-1].meta["example_value"].shape)
    for (a, left), (b, right), shape in zip(ends, ends[1:], shapes):
        ax.annotate("", (b - right, 0), (a + left, 0), arrowprops=arrow)
        ax.text((a + left + b - right) / 2, 0.16, "×".join(map(str, shape)),
                **(style | {"fontsize": 8}))
    ax.text(0, 0, "X", **style, bbox=dict(boxstyle="round", fc="#f2f2f2"))
    for i, node in enumerate(ops, 1):
        parameters = node.all_input_nodes[1:]
        ax.text(i, 0, node.target.__name__, **style, bbox=dict(
            boxstyle="round", fc="#e6f1f8" if parameters else "#e5f5f0"))
        if parameters:
            ax.annotate("", (i, -0.17), (i, -0.5), arrowprops=arrow)
            ax.text(i, -0.7, "\n".join(short(p.name) for p in parameters),
                    **style)
    ax.set(xlim=(-0.2, len(ops) + 0.8), ylim=(-0.9, 0.3))
    ax.axis("off")


fig, ax = plt.subplots(figsize=(7.5, 1.8))
draw_graph(graphs[0], ax)
d2l.describe(fig, """A chain from X over linear, relu, linear, relu to
    linear, with the shapes 64 by 512, 64 by 256 twice, 64 by 128 twice and
    64 by 2 on its arrows; each linear has an arrow from its weight and bias
    below.""")

# %% [markdown]
# **Figure 13.1.2.** The captured graph of the network, with the shapes that Dynamo found out while tracing.

# %%
# check 13.1-C2: one graph, 3 linear and 2 relu, the same output
assert len(graphs) == 1
ops = Counter(node.target.__name__ for node in graphs[0].graph.nodes
              if node.op == "call_function")
assert ops == {"linear": 3, "relu": 2}
compiled = torch.compile(net, backend=Recorder())
assert torch.equal(compiled(X), net(X))
assert sum(p.numel() for p in net.parameters()) == 164_482
for _ in range(10):  # each capture starts anew, and meets no limit
    assert len(capture(steps, torch.ones(3))) == 1

# %% [markdown]
# AOTAutograd splits training into two graphs of more elementary operations.
# `aot_autograd` makes a backend from one function for each.

# %%
halves = {"forward": [], "backward": []}


def keep(half):
    def compiler(gm, example_inputs):
        halves[half].append(gm)
        return make_boxed_func(gm.forward)
    return compiler


joint = aot_autograd(fw_compiler=keep("forward"),
                     bw_compiler=keep("backward"))
torch.compile(net, backend=joint)(X).sum().backward()
counts = {half: Counter(str(node.target).split(".")[1]
                        for node in gm.graph.nodes
                        if node.op == "call_function")
          for half, (gm,) in halves.items()}
for half, count in counts.items():
    print(f"{half}:", {op: count[op] for op in ("addmm", "mm", "relu",
                                                "threshold_backward")})

# %%
grads = [p.grad.clone() for p in net.parameters()]
net.zero_grad()
net(X).sum().backward()
for grad, p in zip(grads, net.parameters(), strict=True):
    torch.testing.assert_close(grad, p.grad)
assert counts["forward"]["addmm"] == 3
assert counts["backward"]["mm"] == 5  # no gradient for X

# %% [markdown]
# Each linear layer costs one matrix product forward and two backward, one for its weight and one for its input; the first layer needs none for its input, so there are five.
#
# ## Guards
#
# A trace is one path through the program, for one kind of input.
# *Guards* are the conditions under which it may be used again: types and shapes of the tensors, whether they need gradients, the values of Python variables that were read.
# If the guards of no kept trace hold, Dynamo traces again and keeps the new one too.
# Sizes are a special case: when one changes for the first time, Dynamo puts a symbol in its place, and that trace fits every size for which the program takes the same path, except 0 and 1, which stay constants.

# %%
def scale(x, factor=2):
    return factor * x + 1


captures = {}
for dynamic in (None, False, True):
    torch.compiler.reset()
    recorder = Recorder()
    fn = torch.compile(scale, backend=recorder, dynamic=dynamic)
    captures[dynamic] = []
    for n in (3, 3, 4, 5, 6, 7):
        fn(torch.ones(n))
        captures[dynamic].append(len(recorder.graphs))
    print(f"dynamic={dynamic}: graphs so far {captures[dynamic]}")

# %%
# check 13.1-C5: 2 graphs by default, 5 if shapes are fixed, 1 if free
assert captures == {None: [1, 1, 2, 2, 2, 2], False: [1, 1, 2, 3, 4, 5],
                    True: [1] * 6}
torch.compiler.reset()
recorder = Recorder()
fn, captured = torch.compile(scale, backend=recorder), []
for n in (3, 4, 5, 1, 0, 6):  # 1 and 0 get graphs of their own
    fn(torch.ones(n))
    captured.append(len(recorder.graphs))
assert captured == [1, 2, 2, 3, 4, 4]

# %% [markdown]
# A *recompilation* that you did not expect is a common reason for slow compiled code.
# Running with the environment variable `TORCH_LOGS=recompiles` prints the guard that failed; `torch.compiler.set_stance("fail_on_recompile")` makes an error of it.

# %%
torch.compiler.reset()
recorder, reasons = Recorder(), []
fn = torch.compile(scale, backend=recorder, dynamic=False)
fn(torch.ones(3))
for args in ((torch.ones(4),), (torch.ones(3).double(),),
             (torch.ones(3), 5), (torch.ones(3, requires_grad=True),)):
    try:
        with torch.compiler.set_stance("fail_on_recompile"):
            fn(*args)
    except RuntimeError as error:
        reasons.append(str(error).strip().split("0/0: ")[1])
        print(reasons[-1].split("  #")[0].strip())

# %%
assert len(reasons) == 4 and len(recorder.graphs) == 1
for word, reason in zip(("size", "dtype", "factor", "requires_grad"),
                        reasons):
    assert word in reason
fn(torch.ones(3), 5)  # outside it recompiles
assert len(recorder.graphs) == 2

# %% [markdown]
# After `torch._dynamo.config.recompile_limit` versions of one function, 8 by default, Dynamo stops compiling it: those versions stay in use, and inputs that fit none of them are left to the interpreter, with a warning (Exercise 3).
#
# ## Graph breaks
#
# Some lines cannot be traced.
# If a branch depends on numbers in a tensor, there is no number while tracing, only a stand-in.
# Dynamo then compiles what it has, lets Python decide, and continues behind the branch with a new graph: a *graph break*.
# The result is right, but the compiler sees two halves and fuses nothing across.

# %%
def branch(x):
    y = 2 * x
    if x.sum() > 0:
        return y + 1
    return y - 1


report = torch._dynamo.explain(branch)(torch.ones(3))
print(report.graph_count, "graphs,", report.graph_break_count, "break")

recorder = Recorder()
fn = torch.compile(branch, backend=recorder)
for x in (torch.ones(3), -torch.ones(3)):
    assert torch.equal(fn(x), branch(x))
    print("graphs so far:", len(recorder.graphs))

# %% [markdown]
# The graph before the branch is shared, and each side is captured when it is first taken.
# Other causes are `.item()`, results whose shape depends on values, such as `x[x > 0]`, and some side effects.

# %%
for name in ("torch._dynamo", "torch.fx", "torch.utils.cpp_extension"):
    logging.getLogger(name).setLevel(logging.ERROR)  # no advice from here on

causes = {"item": lambda x: x.sum().item() * x, "mask": lambda x: 2 * x[x > 0]}
broken = {cause: len(capture(fn, torch.ones(3)))
          for cause, fn in causes.items()}
print(broken)
assert broken == {"item": 2, "mask": 2}

# %% [markdown]
# With `fullgraph=True` a break is an error whose text says where and why (reaching the limit of recompilations is then an error, too), and `TORCH_LOGS=graph_breaks` lists breaks without failing.
#
# There is a trap.
# Compiled code is attached to the function, and `fullgraph=True` finds code that the same backend compiled before *without* it:

# %%
# check 13.1-C3: 2 graphs and 1 break, 3 for both sides; the trap
assert (report.graph_count, report.graph_break_count) == (2, 1)
assert len(recorder.graphs) == 3
fn(torch.ones(3))  # compiled without fullgraph
strict = torch.compile(branch, backend=recorder, fullgraph=True)
raised = []
for _ in range(2):
    try:
        strict(torch.ones(3))
        raised.append("")
    except torch._dynamo.exc.Unsupported as error:
        raised.append(str(error).splitlines()[0])
    torch.compiler.reset()
print(raised)
assert raised[0] == "" and "Data-dependent" in raised[1]
torch.compile(branch, backend=recorder)(torch.ones(3))
try:  # another backend does not find that code
    torch.compile(branch, backend=Recorder(), fullgraph=True)(torch.ones(3))
    found = True
except torch._dynamo.exc.Unsupported:
    found = False
assert not found

# %% [markdown]
# The first call passes in silence, and only after `torch.compiler.reset()` does the second one report the break.
# Reset before you test for breaks.
#
# Python's side effects are kept.
# A `print` runs at each call, although the operations around it are not interpreted any more.
# Between two operations it splits the graph; before the first one there is nothing to split off, and one graph remains, though `fullgraph=True` refuses that function too.

# %%
def loud(x):
    print("called", end=" ")
    return 2 * x + 1


def loud_inside(x):
    y = 2 * x
    print("called", end=" ")
    return y + 1


said = {}
for fn in (loud, loud_inside):
    recorder = Recorder()
    compiled = torch.compile(fn, backend=recorder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for _ in range(3):
            compiled(torch.ones(2))
    said[fn.__name__] = (printed.getvalue().count("called"),
                         len(recorder.graphs))
print("(times printed, graphs):", said)

# %%
# check 13.1-C4: printed at each of 3 calls, with one captured graph
assert said == {"loud": (3, 1), "loud_inside": (3, 2)}
torch.compiler.reset()
try:
    torch.compile(loud, backend=Recorder(), fullgraph=True)(torch.ones(2))
    refused = False
except torch._dynamo.exc.Unsupported as error:
    refused = "print" in str(error)
assert refused

# %% [markdown]
# ### Compile the block, not the model
#
# A model that repeats one block need not be compiled whole.
# Compile the block, and the code of the first one serves all others: *regional compilation*.

# %%
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return x + torch.relu(self.linear(x))


def sizes_of(compile_blocks, gradients=False):
    """Number of operations of each graph of a tower of six blocks."""
    torch.compiler.reset()
    tower, recorder = nn.Sequential(*(Block() for _ in range(6))), Recorder()
    if compile_blocks:
        for block in tower:
            block.compile(backend=recorder)
    else:
        tower = torch.compile(tower, backend=recorder)
    with torch.set_grad_enabled(gradients):
        tower(torch.ones(2, 8))
    return [sum(node.op == "call_function" for node in gm.graph.nodes)
            for gm in recorder.graphs]


print("whole:", sizes_of(False), " blocks:", sizes_of(True),
      " blocks, with gradients:", sizes_of(True, gradients=True))
assert sizes_of(False) == [18] and sizes_of(True) == [3]
assert sizes_of(True, gradients=True) == [3, 3]
assert all(sizes_of(True) == [3] for _ in range(10))  # each starts anew

# %% [markdown]
# One graph of 3 operations instead of one of 18.
# With gradients there are two, because of a guard: the input of the tower needs no gradient, and the inputs of the later blocks do.
#
# `block.compile()` compiles a module in place.
# In PyTorch 2.13 it does nothing, without a word, for a module whose code is all PyTorch's own, such as a bare `nn.Sequential` of layers: `compile` in place starts in the library's own files, which Dynamo skips.
# `torch.compile(net)` does not have this gap, nor has a class of your own around the same layers.
# Counting the graphs shows it, and `fullgraph=True` makes an error of it:

# %%
class Wrapped(nn.Module):
    """Layers of PyTorch's own, with a forward method of ours."""

    def __init__(self):
        super().__init__()
        self.net = make_mlp()

    def forward(self, x):
        return self.net(x)


graphs_in_place = {}
for model in (make_mlp(), Wrapped()):
    torch.compiler.reset()
    recorder = Recorder()
    model.compile(backend=recorder)
    model(X)
    graphs_in_place[type(model).__name__] = len(recorder.graphs)
print("graphs of compile in place:", graphs_in_place)

# %%
assert graphs_in_place["Wrapped"] == 1
assert len(capture(make_mlp(), X)) == 1  # torch.compile(net)
if torch.__version__.startswith("2.13."):
    assert graphs_in_place["Sequential"] == 0
    strict = make_mlp()
    strict.compile(backend=Recorder(), fullgraph=True)
    try:
        strict(X)
        raised = ""
    except RuntimeError as error:
        raised = str(error)
    assert "no compiled frames" in raised

# %% [markdown]
# ## Profile first
#
# Compiling pays where a compiler can remove work, so look first where the time goes.
# `torch.profiler` records every operation from its start to its end.
# Its *total time* includes the operations that it calls, its *self time* does not.
# `record_function` puts a mark of ours around each call, and `export_chrome_trace` writes a timeline for a viewer such as Perfetto.

# %%
class Event(NamedTuple):
    """One operation in a recorded call; times in us from its start."""
    name: str
    depth: int  # 0 for the call itself
    start: float
    end: float
    own: float  # self time
    flops: int


def record_call(fn, calls=21, trace=None):
    """The events of fn(), which should be warm: the median of some calls.

    The first event, named "call", is the whole. trace: a path for the
    timeline of all calls, in Chrome's format.
    """
    with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU],
            with_flops=True) as record:
        for _ in range(calls):
            with torch.profiler.record_function("call"):
                fn()
    if trace is not None:
        record.export_chrome_trace(str(trace))

    def events(e, depth=0):
        span = e.time_range
        yield Event(e.name, depth, span.start - zero, span.end - zero,
                    e.self_cpu_time_total, e.flops or 0)
        for child in e.cpu_children:
            yield from events(child, depth + 1)

    whole = sorted((e for e in record.events() if e.name == "call"),
                   key=lambda e: e.cpu_time_total)[calls // 2]
    zero = whole.time_range.start
    return list(events(whole))

# %% [markdown]
# The table adds the events up by name.

# %%
class Op(NamedTuple):
    """All events of one name in a call; times in us."""
    calls: int
    flops: int
    own: float
    total: float


def profile_ops(events):
    """Name -> Op, for the events of one call, longest self time first."""
    groups = {}
    for e in events:
        groups.setdefault(e.name, []).append(e)
    ops = {name: Op(len(group), sum(e.flops for e in group),
                    sum(e.own for e in group),
                    sum(e.end - e.start for e in group))
           for name, group in groups.items()}
    return dict(sorted(ops.items(), key=lambda item: -item[1].own))


os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no messages of its own
folder = tempfile.TemporaryDirectory()
trace = Path(folder.name) / "trace.json"
net = make_mlp()
recorded = {}
for n in (1, 64):
    x = X[:n]
    with torch.inference_mode():
        net(x)  # warm-up
        recorded[n] = record_call(lambda: net(x), trace=trace)
profiles = {n: profile_ops(events) for n, events in recorded.items()}

# %% tags=["timing", "generated"]
print("                                ---- 64 examples ---     - 1 example -")
print("operation       calls      FLOP total us self us share   self us share")
for name, op in profiles[64].items():
    one = profiles[1][name]
    shares = [p[name].own / p["call"].total for p in profiles.values()]
    print(f"{name.removeprefix('aten::'):15}{op.calls:6}{op.flops:10}"
          f"{op.total:9.1f}{op.own:8.1f}{shares[1]:6.0%}"
          f"{one.own:10.1f}{shares[0]:6.0%}")

# %% [markdown]
# Read the table from the left.
#
# - `call` is our mark. Its total is the whole call; its self time is what lies outside all operations: Python, and the profiler's own work.
# - `linear` has a large total and a small self time: it passes the work on to `t` and `addmm`. So sort by self time; in the column of totals the same microseconds stand once for every level.
# - `t`, `transpose`, `as_strided` and `expand` make views and move no data, `resolve_conj` has nothing to do, and `copy_` writes the bias into the rows to which the product is then added. `relu` is carried out by `clamp_min`. What such rows cost at one example is overhead, for there is next to no data.
# - `addmm` has all of the FLOP: with $n$ examples and $w$ weights a forward pass takes $2nw$ floating-point operations, a multiplication and an addition for each weight and example. The column is filled by formula for a few kinds of operations (products of matrices, single or in batches, two-dimensional convolutions, `mul`, `add`); elsewhere a 0 means "not counted".
#
# The profiler spends time on every operation that it records, so the small ones look larger than they are.
# `with_flops` also makes the profiler record shapes, and while it does, the documentation says, it may hold on to tensors; so record few calls of anything large.

# %% tags=["timing", "hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(7, 3.8), layout="constrained")
colors = {"call": "#f2f2f2", "linear": "#e6f1f8", "addmm": "#0072B2",
          "relu": "#e5f5f0", "clamp_min": "#009E73"}
for ax, (n, events) in zip(axes, recorded.items(), strict=True):
    for e in events:
        name, width = e.name.removeprefix("aten::"), e.end - e.start
        ax.barh(e.depth, width, left=e.start, height=0.9, edgecolor="#555555",
                linewidth=0.5, color=colors.get(name, "#f5c9a8"))
        if width > 0.075 * events[0].end:
            ax.text(e.start + width / 2, e.depth, name, ha="center",
                    va="center", fontsize=7,
                    color="w" if name in ("addmm", "clamp_min") else "#222")
    ax.set(title=f"{n} example" + "s" * (n > 1), yticks=[], ylim=(4.5, -0.5))
    ax.grid(False)
axes[1].set_xlabel("microseconds")
d2l.describe(fig, """Two timelines of one recorded call, with the call on
    top, below it linear, relu, linear, relu, linear with white gaps in
    between, and below those what they call. With 64 examples the first
    addmm takes most of the time; with one example the small operations and
    the gaps do.""")

# %% [markdown]
# **Figure 13.1.3.** The call of the table, as it was recorded: each bar was called by the bar above it.
# The gaps between the bars under `call` are Python and the profiler's own work; orange bars are operations that only look at data differently, or copy it.
#
# From this follows what a compiler could gain here.
# By default the product stays a call of the same library, so even if all else vanished, the work of `addmm` would remain: the whole divided by its self time is a ceiling for the speed-up.
# It is an estimate, because the profiler's own cost is in both times; the same calls are timed without the profiler below.

# %% tags=["timing"]
ceilings = {f"MLP, batch {n}": profile["call"].total
            / profile["aten::addmm"].own for n, profile in profiles.items()}
for work, ceiling in ceilings.items():
    print(f"{work}: at most {ceiling:.1f} times faster")

# %% [markdown]
# `FlopCounterMode` counts the same operations without timing anything.
# With the backward pass there are fewer than three times as many, again because the first layer passes no gradient on to $\mathbf{X}$.

# %%
# check 13.1-C8: operations of the network at batch 64, counted twice
weights = 512 * 256 + 256 * 128 + 128 * 2
with FlopCounterMode(display=False) as forward:
    net(X)
with FlopCounterMode(display=False) as training:
    net(X).sum().backward()
assert forward.get_total_flops() == 2 * 64 * weights == 21_004_288
total = training.get_total_flops()
assert total == 2 * 64 * (3 * weights - 512 * 256) == 46_235_648

# %%
for n, profile in profiles.items():
    assert profile["aten::addmm"].flops == 2 * n * weights
    assert sum(op.flops for op in profile.values()) == 2 * n * weights
    calls = {name: op.calls for name, op in profile.items()}
    assert calls["aten::addmm"] == calls["aten::linear"] == 3
    assert calls["aten::relu"] == calls["aten::clamp_min"] == 2
    whole = profile["call"]
    assert whole.calls == 1  # and no time is counted twice:
    assert math.isclose(sum(op.own for op in profile.values()), whole.total)
    assert profile["aten::linear"].total >= sum(
        profile[f"aten::{name}"].total for name in ("t", "addmm"))
events = recorded[64]
assert events[0].start == 0 and [e.name for e in events if e.depth == 1] == [
    f"aten::{op}" for op in ("linear", "relu", "linear", "relu", "linear")]
assert all(e.depth == 2 for e in events if e.name == "aten::addmm")
names = [e.get("name") for e in json.loads(trace.read_text())["traceEvents"]]
assert names.count("aten::addmm") == 3 * 21  # every call is in the trace

# %%
uneven = iter(((torch.abs, 0.4), (torch.neg, 0), (torch.relu, 0.2)))


def slow_operation():
    operation, seconds = next(uneven)
    time.sleep(seconds)
    operation(X)


events = record_call(slow_operation, calls=3)  # the median, not the last
assert "aten::relu" in [e.name for e in events]

# %% [markdown]
# ## Fusion
#
# Elementwise operations do little arithmetic and much reading and writing.
# A chain of $k$ of them over $n$ numbers, one after the other, reads and writes all $n$ numbers $k$ times: $2k$ passes.
# A compiler can *fuse* them into one loop that reads each number once, applies all $k$ operations while it sits in a register, and writes once: 2 passes.

# %%
def pointwise_chain(x, k=10):
    """k elementwise operations, one after the other."""
    for i in range(k):
        x = 0.9 * x if i % 2 == 0 else x + 0.1
    return x


def traffic(gm):
    """Bytes that the operations of a graph read and write, one by one."""
    return sum(
        n.meta["example_value"].numel() * n.meta["example_value"].itemsize
        for node in gm.graph.nodes if node.op == "call_function"
        for n in (node, *node.all_input_nodes))


for k in (1, 10):
    graph, = capture(pointwise_chain, torch.ones(1000), k)
    print(f"k = {k}: {traffic(graph) / (4 * 1000):.0f} passes")

# %%
# check 13.1-C8: 2k passes over the numbers
for k in (1, 3, 10):
    for x in (torch.ones(1000), torch.ones(7, 5, dtype=torch.float64)):
        graph, = capture(pointwise_chain, x, k)
        assert traffic(graph) == 2 * k * x.numel() * x.itemsize

# %% [markdown]
# Now the real backend.
# Inductor needs a C++ compiler for the CPU; we let it work in a fresh folder, so it finds no kernel of an earlier run (only headers that are compiled once for all), and afterwards look at what it has written there.

# %%
def cpp_compiler():
    """Path of the C++ compiler that Inductor would call here, or None."""
    default = "clang++" if sys.platform == "darwin" else "g++"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    found = shutil.which(os.environ.get("CXX", default))
    return found if header.exists() else None


def first_and_median(fn):
    """Seconds of the first call, and the median of later ones."""
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        fn()
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def kernel_texts():
    """The C++ of all kernels that Inductor has written."""
    return [path.read_text() for path in
            sorted(Path(cache.name).rglob("*.main.cpp"))]


cache = tempfile.TemporaryDirectory()
os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
with_inductor = use_inductor and cpp_compiler() is not None
if not with_inductor:
    print("skipped: Inductor is switched off, or finds no C++ compiler")

# %% [markdown]
# Two causes can make the compiled chain faster: less Python and fewer calls, or less traffic.
# The size separates them.
# With 1024 numbers everything stays in the nearest cache, and what is saved, if anything, is overhead; with two million the same calls are made, and any further saving per call must have to do with the numbers themselves.
# A third arm works in place: it makes as many passes as eager execution and two more, to copy its input, but needs no new memory for each result.

# %%
def in_place_chain(x, k=10):
    x = x.clone()
    for i in range(k):
        x = x.mul_(0.9) if i % 2 == 0 else x.add_(0.1)
    return x


torch.compiler.reset()
arms = {"eager": pointwise_chain, "in place": in_place_chain}
if with_inductor:
    arms["compiled"] = torch.compile(pointwise_chain, dynamic=False)
times, results = {}, {}
for n in (2**10, 2**21):
    x = torch.randn(n, generator=torch.Generator().manual_seed(n))
    for arm, fn in arms.items():
        times[f"chain, {n}", arm] = first_and_median(lambda: fn(x))
        results[n, arm] = fn(x)
kernels = kernel_texts()

# %% tags=["timing"]
for (work, arm), (first, later) in times.items():
    print(f"{work:15} {arm:9} first {first * 1e3:9.3f} ms, "
          f"later {later * 1e3:7.3f} ms")

# %% [markdown]
# A long first call is the price: it contains capture, code generation and the C++ compiler, and on the first occasion also a test of what the processor can do.
# So warm up before you time, and report the first call by itself.
#
# What has been generated is one loop for each of the two sizes, and it can be counted.
# In the profile the ten operations are gone, too.

# %%
# check 13.1-C8: one kernel for each size, with one load and one store
if with_inductor:
    assert len(kernels) == 2
    for kernel in kernels:
        body = kernel[kernel.index("{"):]
        uses = [len(re.findall(rf"{name}_ptr\d+(?: \+|\[)", body))
                for name in ("in", "out")]
        assert uses == [1, 1] and kernel.count('extern "C"') == 1
    arithmetic = [line.split("= ")[1].strip() for line in
                  kernels[0].splitlines() if re.search(
                      r"tmp\d+ [*+] tmp\d+", line)]
    print("one load,", *arithmetic, "one store")
    assert len(arithmetic) == 10
    for arm, left in (("eager", {"aten::mul", "aten::add"}),
                      ("compiled", set())):
        profile = profile_ops(record_call(lambda: arms[arm](x), calls=1))
        assert {"aten::mul", "aten::add"} & profile.keys() == left
else:
    print("skipped: no generated C++ to look at")

# %%
# check 13.1-C6: Inductor's results are close to eager ones
for (n, arm), result in results.items():
    torch.testing.assert_close(result, results[n, "eager"], rtol=1e-5,
                               atol=1e-5)
if not with_inductor:
    print("skipped: nothing was compiled, only the chain in place compared")

# %% [markdown]
# ## Cost against gain
#
# Our network is matrix products with a little in between; the profile has given a ceiling for it.
# We time it with one example, where the guards and the call of compiled code weigh most, and with 64.

# %%
forms = {"eager": net}
if with_inductor:
    forms["compiled"] = torch.compile(net, dynamic=False)
for n in (1, 64):
    for arm, fn in forms.items():
        with torch.inference_mode():
            times[f"MLP, batch {n}", arm] = first_and_median(
                lambda: fn(X[:n]))
            torch.testing.assert_close(fn(X[:n]), net(X[:n]), rtol=1e-5,
                                       atol=1e-5)  # check 13.1-C6

# %% [markdown]
# Is it worth it?
# Let $t_0$ be the time of an eager call, $t_1$ the time of the first compiled call and $t<t_0$ that of a later one.
# After $n$ calls compiling has paid for itself if
#
# $$t_1+(n-1)\,t\le n\,t_0,\qquad\text{that is}\qquad n\ge\frac{t_1-t}{t_0-t}.$$
#
# With $t_1=10$ s, $t_0=3$ s and $t=1$ s this gives $n\ge 4.5$, so five calls: $14$ s instead of $15$ s.
# If $t\ge t_0$, no number of calls suffices (unless the first call was already the faster one); the table below then says `inf`.

# %%
def break_even(first, before, after):
    """Number of calls after which compiling has paid; inf if it never does.

    first: seconds of the first compiled call, at least `before`; before,
    after: seconds of an eager and of a later compiled call.
    """
    if after >= before:
        return math.inf
    return math.ceil((first - after) / (before - after))


for first, before, after in ((10, 3, 1), (9, 3, 1), (8, 8, 1)):
    n = break_even(first, before, after)
    assert first + (n - 1) * after <= n * before
    assert n == 1 or first + (n - 2) * after > (n - 1) * before
assert break_even(10, 3, 1) == 5 and break_even(10, 3, 3) == math.inf

# %% tags=["timing"]
works = list(dict.fromkeys(work for work, _ in times))
if with_inductor:
    print("work            eager ms  compiled ms  times faster  ceiling"
          "  first s  calls to pay")
    for work in works:
        first, after = times[work, "compiled"]
        before = times[work, "eager"][1]
        limit = f"{ceilings[work]:.1f}" if work in ceilings else "-"
        n = break_even(max(first, before), before, after)
        print(f"{work:15}{before * 1e3:9.3f}{after * 1e3:13.3f}"
              f"{before / after:14.2f}{limit:>9}{first:9.2f}"
              f"{n:14.0f}")  # inf: never
else:
    print("skipped: nothing was compiled")

# %% tags=["timing", "hide-input"]
fig, (ax, ax2) = plt.subplots(1, 2, figsize=(7.5, 2.8), width_ratios=(3, 2),
                              layout="constrained")
marks = {"eager": "o", "in place": "s", "compiled": "D"}
for arm, mark in marks.items():
    rows = [(times[w, arm], -y) for y, w in enumerate(works)
            if (w, arm) in times]
    if rows:
        line, = ax.plot([t[1] for t, _ in rows], [y for _, y in rows], mark,
                        label=arm)
    if arm == "compiled" and rows:
        ax.plot([t[0] for t, _ in rows], [y for _, y in rows], mark,
                mfc="none", color=line.get_color(), label="its first call")
ax.set(xscale="log", xlabel="seconds per call",
       yticks=[-y for y in range(len(works))], yticklabels=works,
       ylim=(0.5 - len(works), 0.5))
n = torch.logspace(0, 5, 200)
for color, work in zip(("C0", "C1"), ("chain, 2097152", "MLP, batch 64")):
    ax2.plot(n, n * times[work, "eager"][1], color=color, label=work)
    if with_inductor:
        first, later = times[work, "compiled"]
        ax2.plot(n, first + (n - 1) * later, "--", color=color)
ax2.set(xscale="log", yscale="log", xlabel="number of calls",
        ylabel="seconds in all")
ax2.legend(fontsize=7)
ax.legend(fontsize=7, ncol=2, loc="lower center", bbox_to_anchor=(0.4, 1))
d2l.describe(fig, """Left, times per call on a logarithmic axis for the chain
    with 1024 and with 2097152 numbers and the network with 1 and with 64
    examples: eager, compiled, and far to the right the first compiled
    calls; for the chain also in place. Right, total time against the number
    of calls for the long chain and the network with 64 examples: eager lines
    rise from the start; the compiled ones stay level at the first call's
    time for long, and the chain's then falls below the eager line.""")

# %% [markdown]
# **Figure 13.1.4.** Left: median time per call on the machine that ran this notebook; the open diamonds are the first calls, which compile.
# Right: time for all calls so far, eager (solid) and compiled (dashed); where a dashed line falls below the solid one of its colour, compiling has paid.
#
# Apart from the overhead that the first row shows, the arms of the long chain differ in two things, the number of passes and the memory for results.
# The arm in place makes the passes of eager execution (and two to copy the input) without new memory for each result, so what separates it from the fused loop is passes, over one array that a large cache may hold.
# What separates it from the eager arm is where results go: into other memory, which the system may have to provide first and which takes room in the cache.
# If in your table the compiled network is no faster than the eager one, there is nothing to repair: leave it uncompiled.
#
# The cost has parts, and not all of them are paid each time.
# The backends `eager` and `aot_eager` stop after Dynamo and after AOTAutograd, and Inductor keeps on the disk what it has compiled, so a later process need not call the C++ compiler for the same graph.
# We forget what this process holds and compile the long chain three times more.

# %%
x, kernels = torch.randn(2**21), kernel_texts()
first_calls = {}
for backend in ("eager", "aot_eager", *["inductor"] * with_inductor):
    torch.compiler.reset()
    fn = torch.compile(pointwise_chain, backend=backend, dynamic=False)
    start = time.perf_counter()
    fn(x)
    first_calls[backend] = time.perf_counter() - start

# %% tags=["timing"]
for label, backend in (("captured", "eager"), ("and AOTAutograd", "aot_eager"),
                       ("Inductor, from the disk", "inductor")):
    if backend in first_calls:
        print(f"{label:24}{first_calls[backend]:8.3f} s")
if with_inductor:
    first, _ = times["chain, 2097152", "compiled"]
    print(f"{'Inductor, from nothing':24}{first:8.3f} s")

# %%
if with_inductor:  # the third time found its kernel and wrote none
    assert kernel_texts() == kernels
    assert torch._dynamo.utils.counters["inductor"]["fxgraph_cache_hit"] == 1
else:
    print("skipped: nothing was compiled")

# %% [markdown]
# Three things may help where compiling does pay.
# `mode="reduce-overhead"` replays CUDA graphs on a GPU, `mode="max-autotune"` tries several kernels, and regional compilation leaves less to do in the first call.
# On a GPU Inductor writes Triton code for the same chain; the next cell runs where there is one, and no number of a GPU is stated here.

# %% tags=["timing"]
if num_gpus() and use_inductor:
    x = torch.randn(2**21, device=try_gpu())
    for name, fn in (("eager", pointwise_chain), (
            "compiled", torch.compile(pointwise_chain, dynamic=False))):
        def call():
            fn(x)
            torch.accelerator.synchronize()
        first, later = first_and_median(call)
        print(f"{name:9} first {first:.3f} s, later {later * 1e6:.0f} us")
        torch.testing.assert_close(fn(x), pointwise_chain(x))
else:
    print("skipped: this machine has no accelerator")

# %% [markdown]
# ## A model as a program
#
# `torch.compile` keeps its code in memory, tied to this Python process, apart from caches on the disk.
# The `state_dict` of [Section 6.6](../06-builders-guide/06-file-io.ipynb) holds numbers without a program: you need the class to use it.
# `torch.export.export` captures *one* graph, with no breaks allowed, and `torch.export.save` writes graph and parameters into a `.pt2` file, which can be loaded where your class does not exist; AOTInductor compiles such a program further, for use without Python.

# %%
def export_mlp(net, path, X, dynamic=False):
    """Write net as a program for inputs like X, and load it again."""
    batch = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(net, (X,), dynamic_shapes=batch)
    torch.export.save(program, path)
    return torch.export.load(path).module()


files = {kind: Path(folder.name) / f"{kind}.pt2"
         for kind in ("static", "dynamic")}
loaded = {kind: export_mlp(net, path, X, dynamic=kind == "dynamic")
          for kind, path in files.items()}
try:
    loaded["static"](X[:7])
    message = ""
except AssertionError as error:
    message = str(error)
print(message)

# %% [markdown]
# The size of the batch was a guard of the trace, and an exported program has no source left that could be traced again.
# `Dim` says which sizes should stay free.
#
# To see that the program needs no class, we delete one.
# A whole module saved by `torch.save` holds its parameters and, of its class, only the name; the program holds the operations.

# %%
model = Wrapped()
expected = model(X)
names = [Path(folder.name) / name for name in ("model.pt", "model.pt2")]
torch.save(model, names[0])
torch.export.save(torch.export.export(model, (X,)), names[1])
del Wrapped
try:
    torch.load(names[0], weights_only=False)  # our own file, so unpickle it
    missing = ""
except AttributeError as error:
    missing = str(error)
print(missing)
program = torch.export.load(names[1]).module()
assert "Wrapped" in missing and torch.equal(program(X), expected)

# %%
# check 13.1-C7: equal after reloading; batch 7 only with a free Dim
for program in loaded.values():
    assert torch.equal(program(X), net(X))
assert "Guard failed" in message and "64" in message
for n in (1, 7, 100):
    batch = X.repeat(2, 1)[:n]
    torch.testing.assert_close(loaded["dynamic"](batch), net(batch))
state = Path(folder.name) / "net.params"
torch.save(net.state_dict(), state)
numbers = torch.load(state, weights_only=True)
assert not callable(numbers) and numbers.keys() == net.state_dict().keys()
try:
    loaded["static"].eval()
    frozen = False
except NotImplementedError:
    frozen = True
assert frozen  # the mode, too, was fixed by the trace


class Branch(nn.Module):
    def forward(self, x):
        return branch(x)


silence = io.StringIO()  # it prints how far it came
with contextlib.redirect_stderr(silence), contextlib.redirect_stdout(silence):
    try:
        torch.export.export(Branch(), (torch.ones(3),))
        raised = ""
    except RuntimeError as error:
        raised = str(error)
assert "data-dependent" in raised  # no breaks allowed

# %% [markdown]
# ## Summary
#
# - Eager execution asks Python at each line and keeps every named result; a graph shows what is needed, and how long.
# - `torch.compile` traces bytecode into FX graphs. Guards say when a trace may be used again; if those of no trace hold, the function is compiled again; a line that cannot be traced means a graph break. Both can be counted with a backend of a few lines.
# - Compiled code sticks to the function: without a reset, `fullgraph=True` can pass where it should fail.
# - Fusing $k$ elementwise operations turns $2k$ passes over memory into 2. Where the work is in matrix products of a library, or in a single small call, compiling may gain nothing.
# - Profile first: sort by self time, and ask whether the heavy operation is one that a compiler can remove. What is left in a library bounds the gain.
# - Time the first call by itself; divided by the gain per call it tells how many calls compiling needs to pay.
# - A `.pt2` file is a program with its guards; a `state_dict` is not.

# %% [markdown]
# ## Exercises
#
# ### Exercise 13.1-1
#
# Rewrite `branch` without a break.
# What does your version compute that the original did not?

# %% [markdown]
# #### Solution 13.1-1

# %% [markdown]
# `torch.where` computes both sides and selects: one graph, at the price of the side that is thrown away.
# (If the sides are expensive, `torch.cond` keeps the branch as an operation of the graph.)

# %%
def branchless(x):
    y = 2 * x
    return torch.where(x.sum() > 0, y + 1, y - 1)


graphs = capture(branchless, torch.ones(3))
assert len(graphs) == 1
fn = torch.compile(branchless, backend=Recorder(), fullgraph=True)
for x in (torch.ones(3), -torch.ones(3), torch.zeros(3)):
    assert torch.equal(fn(x), branch(x))

# %% [markdown]
# ### Exercise 13.1-2
#
# Write a backend that counts operations and says so at each capture.
# What does it count for the network, and after the network is called with another batch size?

# %% [markdown]
# #### Solution 13.1-2

# %% [markdown]
# Five operations, and five again when the second size brings a second graph; a third size brings nothing new.

# %%
class Counting:
    """A backend that counts the operations of each graph."""

    def __init__(self):
        self.counts = []

    def __call__(self, gm, example_inputs):
        self.counts.append(sum(node.op.startswith("call_")
                               for node in gm.graph.nodes))
        print("operations:", self.counts[-1])
        return gm.forward


torch.compiler.reset()
counting = Counting()
fn = torch.compile(net, backend=counting)
for n in (64, 32, 16):
    fn(X[:n])
assert counting.counts == [5, 5]

# %% [markdown]
# ### Exercise 13.1-3
#
# Write a module whose guard fails at every call.
# How many graphs are captured in 12 calls, and are the results right?
# Repair it.

# %% [markdown]
# #### Solution 13.1-3

# %% [markdown]
# An integer attribute of a module is taken as a constant.
# A module that counts its own calls changes it each time, so each call is traced anew until the limit is reached; then the interpreter takes over, and the results stay right.
# A counter that is a tensor, in a buffer, is data and not a constant: one graph.
# (An integer *argument* is given a symbol at its second value, like a size.)

# %%
class CountsCalls(nn.Module):
    def __init__(self, counter):
        super().__init__()
        self.calls = counter

    def forward(self, x):
        self.calls = self.calls + 1
        return self.calls * x


limit = torch._dynamo.config.recompile_limit
captured = {}
for kind, counter in (("integer", 0), ("buffer", nn.Buffer(torch.tensor(0)))):
    torch.compiler.reset()
    recorder, captured[kind] = Recorder(), []
    fn = torch.compile(CountsCalls(counter), backend=recorder)
    for call in range(1, 13):
        assert fn(torch.ones(1)).item() == call
        captured[kind].append(len(recorder.graphs))
    print(f"{kind}:", captured[kind])
assert captured["integer"] == [min(call, limit) for call in range(1, 13)]
assert captured["buffer"] == [1] * 12

# %% [markdown]
# ### Exercise 13.1-4
#
# Compile the LeNet with batch normalization of [Section 8.5](../08-modern-cnns/05-batch-norm.ipynb).
# Compare outputs with the eager network in `train` and in `eval` mode, and check that the running statistics are updated once per call.
# How many graphs are there?

# %% [markdown]
# #### Solution 13.1-4

# %% [markdown]
# Two graphs: the mode of the batch normalization is a guard, and going back to `train` finds the first graph again.
# Buffers are changed by the graph as they would be by the module, once per call, and not while tracing.

# %%
def lenet(images):
    torch.manual_seed(2)
    model = BNLeNet()
    model.net(images)  # makes the lazy layers
    return model.net


images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(3))
eager, traced = lenet(images), lenet(images)
torch.compiler.reset()
recorder = Recorder()
compiled = torch.compile(traced, backend=recorder)
seen = []
for mode in (True, True, False, True):
    for model in (eager, traced):
        model.train(mode)
    torch.testing.assert_close(compiled(images), eager(images))
    for a, b in zip(eager.buffers(), traced.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    seen.append((len(recorder.graphs),
                 traced[1].num_batches_tracked.item()))
print("(graphs, batches tracked):", seen)
assert seen == [(1, 2), (1, 3), (2, 3), (2, 4)]

# %% [markdown]
# ### Exercise 13.1-5
#
# Profile one step of training with 64 examples: clear the gradients, compute outputs and cross-entropy, go backward, and let SGD change the parameters.
# Which operations have FLOP, and how many?
# What are the rows that have none?

# %% [markdown]
# #### Solution 13.1-5

# %% [markdown]
# `addmm` has those of the forward pass and `mm` those of the backward pass; together they are what `FlopCounterMode` counted above.
# The other rows are operations for which the profiler has no formula (ReLU and its backward pass, the loss, the sums that are the gradients of the biases, and the update, whose `add_` is not counted although `add` is), copies and fills, views, and marks that autograd and the optimizer set around the operations that they call.

# %% tags=["timing"]
net, labels = make_mlp(), torch.arange(64) % 2
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)


def training_step():
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(X), labels).backward()
    optimizer.step()


training_step()  # warm-up
profile = profile_ops(record_call(training_step))
flops = {name: op.flops for name, op in profile.items() if op.flops}
print(dict(sorted(flops.items())))
assert flops.keys() == {"aten::addmm", "aten::mm"}
assert flops["aten::addmm"] == forward.get_total_flops()
assert sum(flops.values()) == training.get_total_flops()
assert profile["aten::threshold_backward"].calls == 2
for mark in ("zero_grad", "step"):
    assert profile[f"Optimizer.{mark}#SGD.{mark}"].calls == 1

# %% [markdown]
# ## Sources
#
# - J. Ansel et al., *PyTorch 2: faster machine learning through dynamic Python bytecode transformation and graph compilation*, ASPLOS 2024, [doi:10.1145/3620665.3640366](https://doi.org/10.1145/3620665.3640366): Dynamo and Inductor.
# - J. Reed et al., *torch.fx: practical program capture and transformation for deep learning in Python*, MLSys 2022, [arXiv:2112.08429](https://arxiv.org/abs/2112.08429): the graphs.
# - The Theano Development Team, *Theano: a Python framework for fast computation of mathematical expressions* (2016), [arXiv:1605.02688](https://arxiv.org/abs/1605.02688): symbolic programming.
# - M. Abadi et al., *TensorFlow: a system for large-scale machine learning*, OSDI 2016, [arXiv:1605.08695](https://arxiv.org/abs/1605.08695): dataflow graphs.
# - S. Tokui et al., *Chainer: a deep learning framework for accelerating the research cycle*, KDD 2019, [arXiv:1908.00213](https://arxiv.org/abs/1908.00213): define-by-run.
# - A. Paszke et al., *PyTorch: an imperative style, high-performance deep learning library*, NeurIPS 2019, [arXiv:1912.01703](https://arxiv.org/abs/1912.01703): eager execution.
# - PyTorch documentation, [torch.compile](https://docs.pytorch.org/docs/2.13/generated/torch.compile.html): arguments, modes, the recompile limit.
# - PyTorch documentation, [torch.compiler.set_stance](https://docs.pytorch.org/docs/stable/generated/torch.compiler.set_stance.html): errors in place of recompilations.
# - PyTorch tutorials, [Reducing torch.compile cold start compilation time with regional compilation](https://docs.pytorch.org/tutorials/recipes/regional_compilation.html).
# - PyTorch pull request 185722, [Wrap module.compile leaf module call frames](https://github.com/pytorch/pytorch/pull/185722): why `compile` in place misses modules of PyTorch's own.
# - PyTorch documentation, [torch.profiler](https://docs.pytorch.org/docs/2.13/profiler.html): self time, operations by formula, traces.
# - PyTorch tutorials, [Compile time caching configuration](https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_configuration_tutorial.html): what is kept on the disk.
# - PyTorch documentation, [torch.export](https://docs.pytorch.org/docs/stable/export.html): programs, dimensions, `.pt2` files.
# - PyTorch documentation, [AOTInductor](https://docs.pytorch.org/docs/2.12/user_guide/torch_compiler/torch.compiler_aot_inductor.html): exported programs without Python.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning* (2023), [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the section on TorchScript.
