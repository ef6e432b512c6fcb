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
# Python reads a model line by line, and at each line PyTorch starts one operation without knowing what the next will be.
# A compiler sees the operations before they run, and can drop, join and reorder them.
# How does it get to see a program that is written in Python, and when is that worth the wait?
#
# **You will**
#
# - tell eager, symbolic and traced execution apart, and read the graph that `torch.compile` captures;
# - count the graphs of a function, and find what breaks or recompiles them;
# - count operations and bytes before you optimize, and see what fusion removes;
# - save a model as a program that needs no class of yours.
#
# **Cost**: less than a minute on a CPU, most of it for the C++ compiler; nothing to download. Without a C++ compiler a few cells say that they are skipped.

# %%
import contextlib
import dis
import io
import json
import logging
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
    return sum(i.opname in ("BINARY_OP", "BINARY_ADD")
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
# **Figure 13.1.1.** Above: eager execution, where the interpreter works at every call.
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
# The last column of this program is something that the interpreter could not do.
# `a` is dropped (`a = None`) once `b` is known, because the graph shows that nobody asks for it again; in `steps` the name `a` keeps its tensor until the function returns.
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
assert peaks == [4, 2]  # four names; the operand and the result

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
# If a guard fails, Dynamo traces again and keeps both results.
# Shapes are a special case: when a size changes for the first time, Dynamo compiles a version with a symbol in its place, which fits other sizes too.

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
# After `torch._dynamo.config.recompile_limit` versions of one function, 8 by default, Dynamo gives up and leaves further inputs to the interpreter, with a warning (Exercise 3).
#
# ## Graph breaks
#
# Some lines cannot be traced.
# If the branch depends on numbers in a tensor, there is no number while tracing, only a stand-in.
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
# With `fullgraph=True` a break is an error whose text says where and why, and `TORCH_LOGS=graph_breaks` lists breaks without failing.
#
# There is a trap.
# Compiled code is attached to the function, and `fullgraph=True` finds code that was compiled before *without* it:

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

# %% [markdown]
# The first call passes in silence, and only after `torch.compiler.reset()` does the second one tell the truth.
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


def sizes_of(compile_blocks, no_grad=True):
    """Number of operations of each graph of a tower of six blocks."""
    torch.compiler.reset()
    tower, recorder = nn.Sequential(*(Block() for _ in range(6))), Recorder()
    if compile_blocks:
        for block in tower:
            block.compile(backend=recorder)
    else:
        tower = torch.compile(tower, backend=recorder)
    with torch.no_grad() if no_grad else contextlib.nullcontext():
        tower(torch.ones(2, 8))
    return [sum(node.op == "call_function" for node in gm.graph.nodes)
            for gm in recorder.graphs]


print("whole:", sizes_of(False), " blocks:", sizes_of(True),
      " blocks, with gradients:", sizes_of(True, no_grad=False))
assert sizes_of(False) == [18] and sizes_of(True) == [3]
assert sizes_of(True, no_grad=False) == [3, 3]

# %% [markdown]
# One graph of 3 operations instead of one of 18.
# With gradients there are two, because of a guard: the input of the tower needs no gradient, and the inputs of the later blocks do.
#
# `block.compile()` compiles a module in place.
# In PyTorch 2.13 it does nothing, without a word, for a module whose code is all PyTorch's own, such as a bare `nn.Sequential` of layers, because Dynamo skips the library's files unless one of ours calls them; `torch.compile(net)` does not have this gap.
# Counting the graphs shows it:

# %%
in_place, outside = Recorder(), Recorder()
net.compile(backend=in_place)
net(X)
torch.compile(make_mlp(), backend=outside)(X)
print(len(in_place.graphs), "and", len(outside.graphs), "graphs")
if torch.__version__.startswith("2.13."):
    assert len(in_place.graphs) == 0
assert len(outside.graphs) == 1
net = make_mlp()

# %% [markdown]
# ## Profile first
#
# Compiling pays where time is lost, so look before.
# `torch.profiler` records each operation with its *self time*, which is its time without the operations that it calls; `with_flops` adds the operations of matrix products and convolutions.
# `export_chrome_trace` writes a timeline for a viewer such as Perfetto.

# %%
def profile_ops(fn, trace=None):
    """What fn() does: operation -> (calls, FLOP, self seconds)."""
    with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU],
            with_flops=True) as record:
        fn()
    if trace is not None:
        record.export_chrome_trace(str(trace))
    return {event.key: (event.count, event.flops,
                        event.self_cpu_time_total / 1e6)
            for event in record.key_averages()}


os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no messages of its own
folder = tempfile.TemporaryDirectory()
trace = Path(folder.name) / "trace.json"
net(X)  # warm-up
profile = profile_ops(lambda: net(X), trace)

# %% tags=["timing"]
whole = sum(seconds for _, _, seconds in profile.values())
for op, (count, flops, seconds) in sorted(
        profile.items(), key=lambda item: -item[1][2])[:4]:
    print(f"{op:20} {count} calls, {flops:9} FLOP, "
          f"{seconds / whole:.0%} of the self time")

# %% [markdown]
# `linear` calls `addmm`, where the matrix products are counted: with a batch of $n$ examples and $w$ weights a forward pass takes $2nw$ floating-point operations, a multiplication and an addition for each weight and example.
# `FlopCounterMode` counts the same without timing anything.
# With the backward pass it is less than three times as much, again because the first layer passes no gradient on to $\mathbf{X}$.

# %%
# check 13.1-C8: operations of the network at batch 64, counted twice
weights = 512 * 256 + 256 * 128 + 128 * 2
with FlopCounterMode(display=False) as forward:
    net(X)
with FlopCounterMode(display=False) as training:
    net(X).sum().backward()
assert sum(f for _, f, _ in profile.values()) == 2 * 64 * weights
assert forward.get_total_flops() == 2 * 64 * weights == 21_004_288
total = training.get_total_flops()
assert total == 2 * 64 * (3 * weights - 512 * 256) == 46_235_648
assert profile["aten::addmm"][0] == 3 and profile["aten::relu"][0] == 2
events = json.loads(trace.read_text())["traceEvents"]
assert sum(e.get("name") == "aten::addmm" for e in events) == 3

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
# Inductor needs a C++ compiler for the CPU; we let it work in a fresh folder, so nothing is left from an earlier run, and afterwards look at what it has written there.

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


cache = tempfile.TemporaryDirectory()
os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
with_inductor = use_inductor and cpp_compiler() is not None
if not with_inductor:
    print("skipped: Inductor is switched off, or finds no C++ compiler")

# %% [markdown]
# Two causes can make the compiled chain faster: less Python and fewer calls, or less traffic.
# The size separates them.
# With 1024 numbers everything stays in the nearest cache, and what is saved is overhead; with two million the same calls are made, and any further saving per call must have to do with the numbers themselves.
# A third arm works in place: it makes as many passes as eager execution, but needs no new memory for each result.

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
kernels = [path.read_text() for path in
           sorted(Path(cache.name).rglob("*.main.cpp"))]

# %% tags=["timing"]
for (work, arm), (first, later) in times.items():
    print(f"{work:15} {arm:9} first {first * 1e3:9.3f} ms, "
          f"later {later * 1e3:7.3f} ms")

# %% [markdown]
# A long first call is the price: it contains capture, code generation and the C++ compiler, and on the first occasion also a test of what the processor can do.
# So warm up before you time, and report the first call by itself.
#
# What has been generated is one loop for each of the two sizes, and it can be counted.

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
# ## When compiling does not help
#
# Matrix products are calls of a tuned library in both cases, so Inductor has little to fuse in our network.
# We time it with one example, where the guards and the call of compiled code weigh most, and with 64.

# %%
net = make_mlp()
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

# %% tags=["timing", "hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
works = list(dict.fromkeys(work for work, _ in times))[::-1]
marks = {"eager": "o", "in place": "s", "compiled": "D"}
for arm, mark in marks.items():
    rows = [(times[w, arm], y) for y, w in enumerate(works)
            if (w, arm) in times]
    if rows:
        line, = ax.plot([t[1] for t, _ in rows], [y for _, y in rows], mark,
                        label=arm)
    if arm == "compiled" and rows:
        ax.plot([t[0] for t, _ in rows], [y for _, y in rows], mark,
                mfc="none", color=line.get_color(), label="its first call")
ax.set(xscale="log", xlabel="seconds per call", yticks=range(len(works)),
       yticklabels=works, ylim=(-0.5, len(works) - 0.5))
fig.legend(*ax.get_legend_handles_labels(), fontsize=8, ncol=4,
           loc="outside upper center")
d2l.describe(fig, """Times per call on a logarithmic axis for the chain with
    1024 and with 2097152 numbers and the network with 1 and with 64
    examples: eager, compiled, and far to the right the first compiled
    calls; for the chain also in place.""")

# %% [markdown]
# **Figure 13.1.3.** Median time per call on the machine that ran this notebook; the open diamonds are the first calls, which compile.
# Compare the arms of the first two rows with each other, then those of the last two.
#
# Apart from the overhead that the first row shows, the arms of the long chain differ in two things, the number of passes and the memory for results.
# The arm in place makes the ten passes of eager execution without the new memory, so what separates it from the fused loop is passes, over one array that a large cache may hold; what separates it from the eager arm is the memory.
# If in your figure the compiled network is no faster than the eager one, there is nothing to repair: leave it uncompiled.
#
# Three settings help where compiling does pay.
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
# The `state_dict` of [Section 6.6](../06-builders-guide/06-file-io.ipynb) holds numbers without a program: whoever loads it needs the class.
# `torch.export.export` captures *one* graph, with no breaks allowed, and `torch.export.save` writes graph and parameters into a `.pt2` file, which another Python process loads without your class; AOTInductor compiles such a program further, for use without Python.

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
# The size of the batch was a guard of the trace, and an exported program has no interpreter to fall back on.
# `Dim` says which sizes should stay free.

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
# - `torch.compile` traces bytecode into FX graphs. Guards say when a trace may be used again; a failed guard means a recompilation, an untraceable line a graph break. Both can be counted with a backend of a few lines.
# - Compiled code sticks to the function: without a reset, `fullgraph=True` can pass where it should fail.
# - Fusing $k$ elementwise operations turns $2k$ passes over memory into 2. Where the work is in matrix products of a library, or in a single small call, compiling may gain nothing.
# - Time the first call by itself; profile first, and count what can be counted.
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
for training in (True, True, False, True):
    eager.train(training), traced.train(training)
    torch.testing.assert_close(compiled(images), eager(images))
    for a, b in zip(eager.buffers(), traced.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    seen.append((len(recorder.graphs),
                 traced[1].num_batches_tracked.item()))
print("(graphs, batches tracked):", seen)
assert seen == [(1, 2), (1, 3), (2, 3), (2, 4)]

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
# - PyTorch documentation, [torch.export](https://docs.pytorch.org/docs/stable/export.html): programs, dimensions, `.pt2` files.
# - PyTorch documentation, [AOTInductor](https://docs.pytorch.org/docs/2.12/user_guide/torch_compiler/torch.compiler_aot_inductor.html): exported programs without Python.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning* (2023), [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the section on TorchScript.
