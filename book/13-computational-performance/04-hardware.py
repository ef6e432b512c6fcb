# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu:
#         epochs: 20
#       smoke:
#         epochs: 1
#         num_seeds: 1
#     rehearsal:
#       epochs: 0.1
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
# # 13.4 Hardware
#
# A training step computes, and it moves numbers: from memory to the processor, from the processor to a card, from one machine to the next.
# Which of the two takes the time, and does the model fit into memory at all?
# Both can be estimated on paper before anything runs, and this section measures the few numbers that such an estimate needs.
#
# **You will**
#
# - estimate times from bytes and bandwidths, and show with a control that memory moves in lines;
# - draw the roofline of your machine, and read off what limits an operation;
# - derive the limits of a number format from its bits, and train in mixed precision with loss scaling built from scratch;
# - predict the memory of training, and buy memory with time by checkpointing.
#
# **Cost**: about half a minute and 1.5 GB of memory on a CPU, no download; with a GPU two cells measure more.

# %%
import math
import os
import statistics
import time
import weakref
from array import array

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import num_gpus, try_gpu
from d2l_helpers.chapters.modern_cnns import ResNet18
from d2l_helpers.chapters.multilayer_perceptrons import saved_tensors

d2l.use_style()

# %% tags=["parameters"]
epochs = 10  # of the networks trained in three formats
num_seeds = 5

# %% [markdown]
# ## The parts
#
# ![Boxes and links. A processor with two cores, each with registers and caches L1 and L2, and a shared L3 cache is linked to its memory below; a bus links it to an accelerator with its own memory on a thick short link, to storage, and to the network.](img/computer.svg)
#
# **Figure 13.4.1.** Each box holds numbers, and each link has a *bandwidth*, bytes per second, and a *latency*, the time until the first byte arrives.
#
# A core computes on registers.
# A register of 512 bits holds 16 numbers of type `float32`, and one instruction works on all of them (*SIMD*, single instruction, multiple data).
# Memory is too slow to feed it, so a core keeps copies in *caches*, smaller and faster the nearer they are, and the *prefetcher* loads what it expects to be read next.
# Data moves in *cache lines*, 64 bytes on most processors: again 16 numbers.
# When two cores take turns writing to different numbers in one line, the line travels back and forth between them; this is called *false sharing*.
#
# A GPU has many simple cores, which switch to other work while they wait for memory, and *tensor cores*, which multiply small tiles of matrices.
# A TPU has a *systolic array*, a grid of multipliers through which the operands move from neighbour to neighbour; the first one had 65,536 of them (Jouppi and others, 2017).
#
# To move $S$ bytes over a link of bandwidth $B$ (bytes per second) and latency $\alpha$ (seconds) takes
#
# $$t=\alpha+\frac SB. \tag{13.4.1}$$
#
# The gradients of 40 million parameters in `float32` are 160 MB; at 16 GB/s they need 10 ms.
# Some latencies no engineering can remove.
# Light needs 67 ms to a place 10,000 km away and back, so a loop that waits for an answer each time runs less than 15 times per second.
# Others belong to a design: a disk at 10,000 revolutions per minute takes 6 ms per turn, and a random read waits for half a turn on average, which a solid-state drive need not do.

# %%
def transfer_time(nbytes, bandwidth, latency=0.0):
    """Seconds to move nbytes over a link of bandwidth bytes/s."""
    return latency + nbytes / bandwidth


# check 13.4-C6: 10 ms for 40 million gradients, 66.7 ms for light, 6 ms
gradients = torch.empty(40_000_000, device="meta")  # has no data
round_trip = 2 * 10_000e3 / 299_792_458  # metres / (metres per second)
assert math.isclose(transfer_time(gradients.nbytes, 16e9), 10e-3)
assert math.isclose(transfer_time(gradients.nbytes, 16e9, round_trip),
                    10e-3 + round_trip)
assert abs(round_trip - 66.7e-3) < 0.05e-3 and 14 < 1 / round_trip < 15
assert math.isclose(60 / 10_000, 6e-3)

# %% [markdown]
# ## Memory comes in lines
#
# On a busy machine a wall clock also measures other programs.
# The following clock stops while the processor is theirs (on Windows its ticks are too coarse, and we take the wall clock there), and we use one thread.
# For a device that works asynchronously it waits, as in [Section 6.7](../06-builders-guide/07-gpus.ipynb), and takes the wall clock.

# %%
torch.set_num_threads(1)


def seconds(fn, calls=1, repeats=9, device="cpu"):
    """Median time of a call of fn, after a warm-up, on a device type."""
    wall = device != "cpu" or os.name == "nt"  # its ticks are of 16 ms
    clock = time.perf_counter if wall else time.process_time

    def measure():
        start = clock()
        for _ in range(calls):
            fn()
        if device != "cpu":
            torch.accelerator.synchronize()
        return (clock() - start) / calls

    measure()
    return statistics.median(measure() for _ in range(repeats))


if os.name != "nt":  # sleeping is not work
    assert seconds(lambda: time.sleep(0.02)) < 0.005
once, many = (seconds(lambda: sum(range(20_000)), n) for n in (1, 20))
assert many < 5 * once  # the time of a call, not of all calls

# %% [markdown]
# Sum every $s$-th number of 64 MB.
# If memory comes in lines of 16 numbers, the time per number summed should grow with the stride $s$ until each number is alone in its line, and then stop growing.
# The control is a vector of 16 kB that is read again and again and stays in the nearest cache.

# %%
strides, num_floats = (1, 2, 4, 8, 16, 32, 64), 2**24  # 64 MB


def stride_test(strides, size):
    """ns per number for sums over every s-th number of `size` floats.

    A small vector is read repeatedly, as if it were of 64 MB.
    """
    x, times = torch.ones(size), []
    for s in strides:
        view = x[::s].expand(num_floats // size, -1)
        times.append(1e9 / view.numel() * seconds(view.sum))
    return times


sums = {size: stride_test(strides, size) for size in (num_floats, 4096)}

# %% [markdown]
# A sum is a bad probe, however: neighbours are added 16 at a time by SIMD, numbers apart are not.
# So we also *gather* numbers by a list of positions, $0,s,2s,\dots$, taken modulo the length of the vector.
# The kernel (the compiled routine that does the work, [Section 13.1](01-compile.ipynb)), the number of positions and the instructions are the same for both vectors, and only the place of the data differs.

# %%
def gather_test(strides, size):
    """ns per number for a gather at multiples of s modulo `size`."""
    x, times = torch.ones(size), []
    for s in strides:
        where = torch.arange(0, num_floats, s, dtype=torch.int32) % size
        out = torch.empty(len(where))
        times.append(1e9 / len(where) * seconds(
            lambda: torch.index_select(x, 0, where, out=out)))
    return times


gathers = {size: gather_test(strides, size) for size in sums}

# %% tags=["timing", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.6, 2.9), layout="constrained",
                         sharey=True)
for ax, times, title in zip(axes, (sums, gathers), ("sum", "gather")):
    d2l.plot(strides, list(times.values()), ["64 MB", "16 kB"], ax=ax,
             xlabel="stride (numbers)", xscale="log", yscale="log",
             title=title, fmts=["o-", "s--"])
    ax.set_xscale("log", base=2)
    ax.axvline(16, color="#777777", lw=1)
axes[0].set_ylabel("ns per number")
d2l.describe(fig, """Time per number against stride on logarithmic axes. Left,
    sums: from 64 MB it rises all the way to a stride of about one line or
    two; from 16 kB it jumps at stride 2 and stays. Right, gathers: from
    64 MB it rises and levels off, from 16 kB it does not rise.""")

# %% [markdown]
# **Figure 13.4.2.** Time per number, from memory and from the nearest cache; the grey line marks 64 bytes.

# %%
# check 13.4-C7: far apart is slow; only in large vectors it is the memory
at = strides.index
big, small = sums.values()
assert big[at(16)] > 3 * big[at(1)]
if "AVX" in torch.backends.cpu.get_cpu_capability():  # wide SIMD
    assert min(small[1:]) > 2 * small[0]  # so the ratio shows nothing
big, small = gathers.values()
assert max(small[at(16):]) < 2 * small[0]  # not the stride alone is slow
assert min(big[at(32):]) > 1.5 * max(small[at(32):])  # the memory is
assert min(big[at(32):]) > 1.5 * big[0]  # the time grows

# %% [markdown]
# With wide SIMD, a sum takes more than twice the time per number at every stride from 2 on even in the cache, without any traffic to memory, because it loses SIMD; so the ratio between stride 16 and stride 1 would prove nothing.
# The gathers are the evidence: at equal stride they differ in nothing but the place of the data.
# From the cache a wide stride takes no longer than a narrow one (here rather less, perhaps because its list of positions is shorter); from memory the time grows and then levels off.
# With lines of 64 bytes the bend should lie at a stride of 16.
# A bend at 32 is what lines of 128 bytes, or lines that are fetched in pairs, would give; the figure does not tell these apart.
# Consequence: store together what is read together, and read in the order of storage.

# %% [markdown]
# ## The roofline
#
# An operation of $W$ floating point operations (FLOP) that moves $Q$ bytes between memory and processor has the *arithmetic intensity* $I=W/Q$, in FLOP per byte.
# A processor that computes at most $P$ FLOP per second and moves at most $B$ bytes per second cannot do better than
#
# $$R(I)=\min(P,\ I\,B) \tag{13.4.2}$$
#
# FLOP per second: this is the *roofline model* (Williams, Waterman and Patterson, 2009).
# The two roofs meet at the *ridge point* $I=P/B$.
# Left of it an operation is bound by memory, right of it by arithmetic.
#
# Adding two vectors takes one FLOP for every 12 bytes, $I=1/12$.
# (Many processors read a line before they write to it and so move 16; we count what the operation needs.)
# The product of two $n\times n$ matrices takes $2n^3$ FLOP; if each matrix moves only once, which needs a large cache or clever tiles, that is
#
# $$I=\frac{2n^3}{3\cdot4n^2}=\frac n6. \tag{13.4.3}$$

# %%
def intensity(flop, *tensors):
    """FLOP per byte if each tensor is moved once."""
    return flop / sum(t.nbytes for t in tensors)


def product_flop(n):
    """FLOP of a product of two n by n matrices."""
    return 2 * n**3


# check 13.4-C5: FLOP by PyTorch's counter, bytes by the tensors
for n, expected in ((256, 42.67), (4096, 682.67)):
    A, B = torch.empty(2, n, n, device="meta")
    with FlopCounterMode(display=False) as counter:
        C = A @ B
    assert counter.get_total_flops() == product_flop(n)
    per_byte = intensity(product_flop(n), A, B, C)
    assert abs(per_byte - expected) < 0.005
    assert math.isclose(per_byte, n / 6)
x, y = torch.empty(2, 1000, device="meta")
assert round(intensity(1000, x, y, x + y), 4) == 0.0833

# %%
def measure_bandwidth(size=2**24, device="cpu"):
    """Bytes per second that adding and multiplying vectors need.

    The vectors hold `size` floats; "add" reads two and writes one, "dot",
    a dot product, reads two.
    """
    x, y, out = torch.ones(3, size, device=device)
    reads = x.nbytes + y.nbytes
    adding = seconds(lambda: torch.add(x, y, out=out), device=device)
    return {"add": (reads + out.nbytes) / adding,
            "dot": reads / seconds(lambda: x @ y, device=device)}


def measure_flops(n, device="cpu", dtype=torch.float32):
    """FLOP per second of a product of two n by n matrices."""
    A, B = torch.randn(2, n, n, device=device).to(dtype)
    calls = max(1, 2_000_000 // (n**3 + 2000))
    return product_flop(n) / seconds(lambda: A @ B, calls, device=device)


def roofline(peak, bandwidth):
    """The most FLOP per second that an intensity allows."""
    return lambda per_byte: min(peak, per_byte * bandwidth)

# %% tags=["timing"]
sizes = (8, 16, 32, 64, 256, 1024)
speed = {n: measure_flops(n) for n in sizes}
vectors = measure_bandwidth()
bandwidth = max(vectors.values())
attainable = roofline(max(speed.values()), bandwidth)
matrix, vector = torch.randn(4096, 4096), torch.randn(4096)
matvec_flop = 2 * 4096**2
matvec = matvec_flop / seconds(lambda: matrix @ vector)
matvec_intensity = intensity(matvec_flop, matrix, vector, vector)
print(f"bandwidth {bandwidth / 1e9:.1f} GB/s, ridge at "
      f"{max(speed.values()) / bandwidth:.1f} FLOP per byte")
print(f"matrix times vector: {attainable(matvec_intensity) / 1e9:.1f} "
      f"GFLOP/s on the roof, {matvec / 1e9:.1f} measured")

# %% tags=["timing", "hide-input"]
marks = [1 / 24, max(speed.values()) / bandwidth, 256]
ax = d2l.plot(marks, [attainable(i) / 1e9 for i in marks], xscale="log",
              yscale="log", xlabel="intensity (FLOP per byte)",
              ylabel="GFLOP per second")
ax.set(xlim=(0.03, 900), ylim=(0.3 * min(speed.values()) / 1e9, None))
points = [(1 / 12, vectors["add"] / 12, "add"),
          (1 / 4, vectors["dot"] / 4, "dot"),
          (matvec_intensity, matvec, "matrix·vector"),
          *[(n / 6, rate, f"$n={n}$") for n, rate in speed.items()]]
for per_byte, rate, name in points:
    ax.plot(per_byte, rate / 1e9, "o", color="C1")
    ax.annotate(name, (per_byte, rate / 1e9), (4, -11), fontsize=8,
                textcoords="offset points")
d2l.describe(ax, """A line rises with slope one and turns flat at the ridge.
    Addition, dot product and matrix times vector lie on the slope or near
    it, large matrix products near the flat part, and the products of the
    smallest matrices far below both.""")

# %% [markdown]
# **Figure 13.4.3.** The roofline of one core of the machine that ran this notebook.
# Its slope is the faster of addition and dot product, its flat part the fastest matrix product, so these touch it by construction.

# %%
fastest = max(speed.values())
assert fastest > 5 * vectors["add"] / 12  # products reuse, sums don't
assert bandwidth < 5 * min(vectors.values())  # both wait for memory
assert attainable(1e9) == fastest
assert math.isclose(attainable(1 / 12), bandwidth / 12)
assert matvec_intensity < fastest / bandwidth and matvec < fastest / 2
assert speed[8] < 0.3 * attainable(8 / 6)
assert measure_flops(2) < speed[8] / 16  # 64 times the work in similar time

# %% [markdown]
# Large products, with many FLOP per byte, run at several times the rate of additions, which have few.
# The smallest product lies far below both roofs and is bound by neither: a product of $2\times2$ matrices, with a sixty-fourth of the operations, still takes more than a quarter of the time.
# The time goes into Python and into the choice of a kernel; this is the overhead of [Section 13.1](01-compile.ipynb).
# And a model that generates text for one user multiplies matrices by vectors, with an intensity of 0.5 in `float32`, left of every ridge point in this section: if the matrices are too large for the caches, it is bound by memory.
#
# The roofline also estimates what has not run yet.
# A linear layer costs 2 FLOP per weight and example forward, and twice that backward: once for the gradient of the weights and once for that of the input, which the first layer does not need.
# Divided by the flat roof, this estimates the least time for the forward and backward pass.

# %% tags=["timing"]
def layers(device=None):
    return nn.Sequential(nn.Linear(512, 2048, device=device), nn.GELU(),
                         nn.Linear(2048, 512, device=device))


def forward_backward(net, X):
    net(X).square().mean().backward()


with FlopCounterMode(display=False) as counter:  # counts, computes nothing
    forward_backward(layers("meta"), torch.empty(256, 512, device="meta"))
step_flop, weights = counter.get_total_flops(), 512 * 2048
assert step_flop == 256 * (6 * weights + 4 * weights)
net, X = layers(), torch.randn(256, 512)
predicted = step_flop / fastest
step = seconds(lambda: forward_backward(net, X))
print(f"a step: at least {1e3 * predicted:.0f} ms predicted, "
      f"{1e3 * step:.0f} ms measured")
assert predicted / 3 < step < 20 * predicted

# %% [markdown]
# The prediction leaves out what is not a matrix product, such as the activation function, and it takes for granted that the products of the step, which are not square, run as fast as the best square one.
#
# Some further numbers, measured and published side by side.
# To measure the latency of memory, each read has to wait for the one before: we follow a random cycle through 64 MB, and subtract the time of the same loop in 4 kB, which stays in the cache.
# The result depends on the size of the table: in a larger one fewer reads find their number in a cache, and finding the page that an address belongs to can take time too.

# %% tags=["hide-input"]
def random_cycle(size):
    """Successor of each of `size` places on a random cycle through all."""
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    follow = torch.empty_like(order)
    follow[order] = order.roll(-1)
    return array("q", follow.numpy().tobytes())


def chase(size, steps=20_000):
    """Seconds per step along a random cycle through `size` int64."""
    table, place = random_cycle(size), 0

    def walk():
        nonlocal place
        i = place
        for _ in range(steps):
            i = table[i]
        place = i

    return seconds(walk) / steps


def cards():
    """Measured bandwidth and speeds of the accelerator, if there is one."""
    if not num_gpus():
        return ["none here"] * 3
    kind = try_gpu().type
    best = max(measure_bandwidth(2**28, kind).values())
    return [f"{best / 1e9:.0f} GB/s"] + [
        f"{measure_flops(8192, kind, dtype) / 1e12:.1f} TFLOP/s"
        for dtype in (torch.float32, torch.bfloat16)]


small_cycle, place, visited = random_cycle(1000), 0, set()
for _ in range(1000):
    place = small_cycle[place]
    visited.add(place)
assert place == 0 and len(visited) == 1000

# %% tags=["hide-input"]
h100 = {"bytes/s": 3350e9, "float32": 67e12, "bfloat16": 989e12}


def machine_report():
    """Rows (quantity, measured here, published with source and year)."""
    near, far = chase(2**9), chase(2**23)
    assert 1.2 * near < far < 1e-5  # 64 MB against 4 kB
    latency, card = 1e9 * (far - near), cards()
    return [
        ("L1 cache, latency", "", "0.5 ns (Dean 2009)"),
        ("L2 cache, latency", "", "7 ns (Dean 2009)"),
        ("memory, latency", f"{latency:.0f} ns", "100 ns (Dean 2009)"),
        ("SSD, random read of 4 kB", "", "0.15 ms (Boner 2012)"),
        ("round trip, one data centre", "", "0.5 ms (Dean 2009)"),
        ("round trip, California-Netherlands", "", "150 ms (Dean 2009)"),
        ("memory, one core / one DDR5-4800", f"{bandwidth / 1e9:.0f} GB/s",
         "38 GB/s (JEDEC 2020)"),
        ("memory of an accelerator", card[0],
         f"{h100['bytes/s'] / 1e9:.0f} GB/s H100 (2023)"),
        ("", "", "4800 GB/s H200 (2024)"),
        ("", "", "8000 GB/s B200 (2025)"),
        ("float32, one core / card",
         f"{fastest / 1e9:.0f} GFLOP/s", ""),
        ("", card[1], f"{h100['float32'] / 1e12:.0f} TFLOP/s H100 (2023)"),
        ("bfloat16, one core / card",
         f"{measure_flops(512, dtype=torch.bfloat16) / 1e9:.0f} GFLOP/s",
         ""),
        ("", card[2], f"{h100['bfloat16'] / 1e12:.0f} TFLOP/s H100 (2023)"),
        ("NVLink 4 / 5, both ways", "", "900 / 1800 GB/s (2023/25)"),
        ("PCIe 5.0 x16, each way", "", "64 GB/s (PCI-SIG 2019)"),
        ("400 Gbit/s Ethernet", "", "50 GB/s (IEEE 2017)")]

# %% tags=["timing"]
print(f"{'quantity':36}{'measured here':15}published (year)")
for row in machine_report():
    print(f"{row[0]:36}{row[1]:15}{row[2]}")

# %% [markdown]
# The right column is from the talks, standards and data sheets named under Sources; nothing in it was measured here, and a rate on a data sheet is an upper limit.
# H100, H200 and B200 are NVIDIA's; the 989 TFLOP/s hold for dense matrices, and the data sheet prints twice that, for matrices with two zeros among every four entries.
# By (13.4.2), an H100 needs almost 300 FLOP per byte to be bound by its arithmetic in `bfloat16`.
# Numbers of fewer bits help under both roofs if the processor has instructions for them: the same operations move fewer bytes, so their intensity grows, and a register holds more of them, so the flat part rises.
# Without such instructions, `bfloat16` has to be converted or emulated, and its products can be slower than those in `float32`.

# %%
assert 290 < h100["bfloat16"] / h100["bytes/s"] < 300

# %% [markdown]
# ## What a format can hold
#
# A floating point number has a sign, $e$ exponent bits and $m$ mantissa bits ([Section 2.1](../02-preliminaries/01-data-manipulation.ipynb)).
# With the bias $b=2^{e-1}-1$, exponent field $E$ and mantissa field $M$, its magnitude is
#
# $$\Big(1+\frac M{2^m}\Big)2^{E-b}\ \text{ for } E>0,\qquad \frac M{2^m}2^{1-b}\ \text{ for } E=0. \tag{13.4.4}$$
#
# Numbers with $E>0$ are normal, those with $E=0$ and $M>0$ are the [subnormal numbers](../04-linear-classification/05-softmax-regression-concise.ipynb).
# Formats differ in what they give up for infinity and NaN: as a rule the whole row of the largest $E$; the 8-bit format e4m3 (named after $e=4$ and $m=3$) gives up only its last code, and the 4-bit format e2m1 nothing.

# %%
def magnitudes(e, m, given_up):
    """All finite numbers >= 0 of a format, in the order of their codes.

    `given_up` is "row", "code" or "nothing".
    """
    code = torch.arange(2 ** (e + m))
    E, M = code >> m, (code & (2**m - 1)).double() / 2**m
    bias = 2 ** (e - 1) - 1
    values = torch.where(E > 0, (1 + M) * 2.0 ** (E - bias),
                         M * 2.0 ** (1 - bias))
    return values[:{"row": -(2**m), "code": -1, "nothing": None}[given_up]]


formats = {"float16": (5, 10, "row"), "bfloat16": (8, 7, "row"),
           "float8_e4m3fn": (4, 3, "code"), "float8_e5m2": (5, 2, "row"),
           "e2m1": (2, 1, "nothing")}
grids = {name: magnitudes(*bits) for name, bits in formats.items()}
print("e2m1:", grids["e2m1"].tolist())

# %%
# check 13.4-C1: every code as PyTorch reads it, and the limits
limits = {"float16": (65504, 2**-10, 2**-24),
          "bfloat16": (255 * 2.0**120, 2**-7, 2.0**-133),
          "float8_e4m3fn": (448, 2**-3, 2**-9),
          "float8_e5m2": (57344, 2**-2, 2**-16)}
for name, expected in limits.items():
    dtype, grid = getattr(torch, name), grids[name]
    code = torch.arange(len(grid)).to(
        torch.int16 if dtype.itemsize == 2 else torch.uint8)
    torch.testing.assert_close(code.view(dtype).double(), grid, rtol=0,
                               atol=0)
    eps = grid[grid > 1][0] - 1
    info = torch.finfo(dtype)
    assert (grid[-1].item(), eps.item(), grid[1].item()) == expected
    assert (info.max, info.eps) == expected[:2]
    assert info.smallest_normal == grid[2 ** formats[name][1]]

# %% tags=["hide-input"]
rows = {"float32": (8, 23), "tf32": (8, 10), "bfloat16": (8, 7),
        "float16": (5, 10), "e5m2": (5, 2), "e4m3": (4, 3), "e2m1": (2, 1)}
fig, ax = plt.subplots(figsize=(6.4, 2.5))
for i, (name, (e, m)) in enumerate(rows.items()):
    for left, width, color in ((0, 1, "#777777"), (1, e, "C0"),
                               (1 + e, m, "C1")):
        ax.barh(i, width, left=left, color=color, edgecolor="white")
        if width > 1:
            ax.text(left + width / 2, i, width, ha="center", va="center",
                    color="white", fontsize=8)
ax.set_yticks(range(len(rows)), labels=list(rows))
ax.invert_yaxis()
ax.set(xlabel="bits: sign, exponent, mantissa", xlim=(0, 32.5))
d2l.describe(ax, """Horizontal bars of bits for seven formats. float32, tf32
    and bfloat16 have 8 exponent bits and 23, 10 and 7 mantissa bits; float16
    has 5 and 10, e5m2 5 and 2, e4m3 4 and 3, e2m1 2 and 1.""")

# %% [markdown]
# **Figure 13.4.4.** Exponent bits buy range, mantissa bits buy precision.
# `bfloat16` is the upper half of `float32`; tf32 exists only inside tensor cores.

# %%
# check 13.4-C2: numbers that overflow, vanish, or do not move
half, brain = torch.float16, torch.bfloat16
assert torch.tensor(70000.0).to(half).isinf()
assert torch.tensor(1e-8).to(half) == 0 == torch.tensor(2**-25).to(half)
assert torch.tensor(2048.0, dtype=half) + 1 == 2048
assert torch.tensor(256.0, dtype=brain) + 1 == 256
assert torch.tensor(1.0, dtype=brain) + 1e-3 == 1
total, ones = torch.tensor(0.0, dtype=half), torch.ones(3000, dtype=half)
for one in ones:
    total = total + one
print(f"3000 ones: {total.item():g} one by one, {ones.sum().item():g} by sum")
assert total == 2048 and ones.sum() == 3000
rows = torch.randn(200, 3000, generator=torch.Generator().manual_seed(0))
rows = rows.to(half)  # by sum: as if exact and rounded once
alike = rows.sum(dim=1) == rows.double().sum(dim=1).to(half)
assert alike.float().mean() > 0.95
large = torch.tensor(1e5)
assert large.to(torch.float8_e4m3fn).float() == 448  # it saturates
assert large.to(torch.float8_e5m2).float().isinf()

# %% [markdown]
# `sum` adds in a wider format and rounds once: plain sums of many numbers need more bits than the numbers themselves.
#
# ### One scale or many
#
# Eight or four bits need a scale: divide a tensor by a number that maps its largest entry to the largest number of the format.
# With *block scaling* each block of entries has its own scale.
# The MX formats of the Open Compute Project take blocks of 32 and powers of two as scales (2023); NVFP4 takes blocks of 16 e2m1 numbers, an e4m3 number as the scale of each block, and a `float32` scale for the whole tensor (2025).
# A miniature with exact scales: a million draws from the standard normal distribution, one of them replaced by an outlier of 300.

# %%
def quantize(x, grid, block=None):
    """Round x (n,) to scale times grid; a scale per block of entries."""
    rows = x.view(-1, block or len(x))
    scale = rows.abs().amax(dim=1, keepdim=True) / grid[-1]
    middles = (grid[1:] + grid[:-1]) / 2
    nearest = grid[torch.bucketize((rows / scale).abs(), middles)]
    return (nearest * rows.sign() * scale).flatten()


rng = torch.Generator().manual_seed(0)
x = torch.randn(2**20, generator=rng)
x[0] = 300.0
grids["int8"] = torch.arange(128.0)
small_grids = {name: grids[name].float() for name in (
    "float8_e4m3fn", "int8", "e2m1")}
errors = {}
for name, grid in small_grids.items():
    errors[name] = [((quantize(x, grid, block) - x) / x).abs().median()
                    .item() for block in (None, 32)]
    print(f"{name:13} median relative error, one scale "
          f"{errors[name][0]:.3f}, one per 32 {errors[name][1]:.3f}")

# %%
expected = {"float8_e4m3fn": (0.022, 0.021), "int8": (1, 0.006),
            "e2m1": (1, 0.108)}
for name, pair in expected.items():
    assert all(abs(e - p) < 0.001 for e, p in zip(errors[name], pair))
e4m3 = torch.float8_e4m3fn
scaled = x / (300 / 448)
assert torch.equal(quantize(scaled, small_grids["float8_e4m3fn"]),
                   scaled.to(e4m3).float())
calm = x.clone()  # without the outlier, the other blocks are the same
calm[0] = 0
for grid in small_grids.values():
    pair = [quantize(v, grid, 32)[32:] for v in (x, calm)]
    assert torch.equal(*pair)
    assert not torch.equal(*(quantize(v, grid)[32:] for v in (x, calm)))
tiny = (1e-4 * x).to(e4m3).float()  # without a scale
assert tiny[0] != 0 and (tiny[1:] == 0).all()

# %% [markdown]
# One outlier turns more than half of the entries into 0 in `int8` and in e2m1; a scale per block confines the damage to one block, and then `int8` is the most exact of the three.
# For e4m3 the block matters little here: it needs a scale to be within range, and unscaled, at $10^{-4}$ of the size, all entries but the outlier become 0.

# %% [markdown]
# ## Training in mixed precision
#
# *Mixed precision* training computes in 16 bits and updates in 32.
# Why not all in 16?
# An update is often small against its weight.
# Take a weight of 1 and 1000 steps of $-10^{-3}$: it should arrive at 0.
# In `bfloat16` the gap below 1 is $2^{-8}$, about four times the step, so every step is rounded away.
# A remedy that keeps 16 bits is *stochastic rounding*: up or down at random, with probabilities that make the mean exact.
# It was proposed in the 1950s (Croci and others, 2022), trained networks in 16-bit fixed point (Gupta and others, 2015), and rounds the gradients in the training with NVFP4.
# `bfloat16` is the upper half of a `float32`, so we add a random number to the lower half and cut.

# %%
def stochastic_round(x, rng):
    """Round float32 to bfloat16, up or down with the right mean."""
    bits = x.view(torch.int32)
    noise = torch.randint(2**16, x.shape, dtype=torch.int32, generator=rng)
    return ((bits + noise) & -(2**16)).view(torch.float32).bfloat16()


full, plain = torch.tensor(1.0), torch.tensor(1.0, dtype=brain)
drawn = torch.ones(1000, dtype=brain)
for _ in range(1000):
    full, plain = full - 1e-3, plain - 1e-3
    drawn = stochastic_round(drawn.float() - 1e-3, rng)
mean = drawn.float().mean().item()
print(f"float32 {full.item():.5f}, bfloat16 {plain.item():g}, stochastic: "
      f"mean of 1000 copies {mean:.3f}")
assert abs(full) < 1e-4 and plain == 1 and abs(mean) < 0.008

# %% [markdown]
# The usual remedy is *master weights*: parameters and their updates in `float32`, and a 16-bit copy for the products (Micikevicius and others, 2018).
# `torch.autocast` makes such copies for the operations on one list, and keeps those on another in `float32`.

# %%
# check 13.4-C3: products in 16 bits; weights, gradients, losses in 32
torch.manual_seed(0)
layer, X = nn.Linear(64, 64), torch.randn(64, 64)
with torch.autocast("cpu", dtype=torch.bfloat16):
    out = layer(X)
    loss = F.mse_loss(out, X)
    lists = F.softmax(out, dim=1), F.layer_norm(out, (64,))
loss.backward()
exact = layer(X)
off = ((out - exact).norm() / exact.norm()).item()
print(f"autocast changes the outputs by {100 * off:.2f} %")
assert out.dtype == torch.bfloat16 and loss.dtype == torch.float32
assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32
assert 1e-4 < off < 1e-2
assert all(result.dtype == torch.bfloat16 for result in lists)

# %% [markdown]
# The lists depend on the device: on CUDA, softmax and layer normalization run in `float32` by the documentation; on a CPU both return the `bfloat16` they are given.
#
# `float16` has another problem: its range.
# Gradients of at most $2^{-25}$ become 0 on their way back.
# *Loss scaling* multiplies the loss, hence all gradients, by a large $s$, and divides before the step.
# How large?
# Try: if a gradient overflows, skip the step and halve $s$; after $N$ good steps in a row double it.
# `bfloat16` has the range of `float32` and needs none of this.

# %%
class LossScaler:
    """Dynamic loss scaling: halve after overflow, double when all is well."""

    def __init__(self, scale=2.0**16, good_steps=2000):
        self.value, self.good_steps, self.good = scale, good_steps, 0

    def scale(self, loss):
        return self.value * loss

    def step(self, optimizer):
        grads = [p.grad for group in optimizer.param_groups
                 for p in group["params"] if p.grad is not None]
        for g in grads:
            g /= self.value
        self.finite = all(g.isfinite().all() for g in grads)
        if self.finite:
            optimizer.step()

    def update(self):
        self.good = self.good + 1 if self.finite else 0
        if not self.finite:
            self.value /= 2
        elif self.good == self.good_steps:
            self.value, self.good = 2 * self.value, 0

# %%
# check 13.4-C4: like GradScaler; an overflow skips a step, halves the scale
def scaler_run(scaler, current, poison=(1, 4)):
    """Scales and weights over 12 steps, of which some have inf gradients."""
    w, v = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(3))
    optimizer, path = torch.optim.SGD([w, v], lr=0.1), []
    for t in range(12):
        optimizer.zero_grad()
        scaler.scale(w.square().sum() + v.square().sum()).backward()
        if t in poison:
            w.grad += torch.inf
        scaler.step(optimizer)
        scaler.update()
        path.append((current(scaler), w.item()))
    return path


theirs = torch.amp.GradScaler("cpu", growth_interval=3)
assert theirs.get_scale() == 65536
path = scaler_run(theirs, lambda scaler: scaler.get_scale())
assert path[1] == (32768, path[0][1]) and path[2][1] < path[1][1]
assert path == scaler_run(LossScaler(good_steps=3), lambda s: s.value)

# %% [markdown]
# What is it good for?
# In a `float16` layer with a loss of small slope, the gradient is lost without scaling and survives with it.

# %%
lost = {}
for scale in (1.0, 2.0**16):
    layer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = 1e-5 * layer(X).float().mean()  # slopes of 2e-9
    (scale * loss).backward()
    lost[scale] = (layer.weight.grad == 0).float().mean().item()
    print(f"scale {scale:g}: {100 * lost[scale]:.0f} % of the gradient is 0")
assert lost[1.0] == 1 and lost[2.0**16] < 0.1

# %% [markdown]
# One training step puts it together.
# Only the forward pass and the loss stand under `autocast`; the backward pass uses the same types.

# %%
def amp_step(model, X, y, optimizer, scaler=None, dtype=torch.bfloat16):
    """One step on a batch; dtype float32 switches autocast off."""
    optimizer.zero_grad()
    with torch.autocast(X.device.type, dtype=torch.bfloat16
                        if dtype == torch.float32 else dtype,
                        enabled=dtype != torch.float32):
        loss = F.cross_entropy(model(X), y)
    if scaler is None:
        loss.backward()
        optimizer.step()
    else:
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return loss.detach()

# %% [markdown]
# A scale that is a power of two changes no digit as long as nothing overflows or becomes subnormal, so in `float32` a step with a scaler equals one without it to the bit.
# A step in `bfloat16` differs a little from one in `float32`.

# %%
def after_step(**kwargs):
    """Weight and loss after one step of the linear layer on X."""
    net = nn.Linear(64, 10)
    net.load_state_dict({"weight": layer.weight[:10], "bias": layer.bias[:10]})
    loss = amp_step(net, X, torch.arange(64) % 10,
                    torch.optim.SGD(net.parameters(), lr=0.1), **kwargs)
    assert not loss.requires_grad and not torch.is_autocast_enabled("cpu")
    return net.weight.detach(), loss


exact, exact_loss = after_step(dtype=torch.float32)
scaler = LossScaler(good_steps=1)
scaled, scaled_loss = after_step(dtype=torch.float32, scaler=scaler)
assert torch.equal(exact, scaled) and exact_loss == scaled_loss
assert scaler.value == 2**17  # updated
rough, _ = after_step()
assert 0 < (rough - exact).norm() < 0.02 * (exact - layer.weight[:10]).norm()

# %% [markdown]
# We train the small network of [Section 12.10](../12-optimization/10-adam.ipynb) on the digits, from the same start and with the same batches in three formats.

# %% tags=["rtol=0.03"]
digits = load_digits()
order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
images = torch.tensor(digits.data / 16, dtype=torch.float32)[order]
labels = torch.tensor(digits.target)[order]


def train_digits(seed, dtype, scaler=None):
    """Held-out loss and accuracy after training with AdamW."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64),
                        nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, 20 * epochs)
    for _ in range(epochs):
        for batch in torch.randperm(1280).split(64):
            amp_step(net, images[batch], labels[batch], optimizer, scaler,
                     dtype)
            decay.step()
    with torch.no_grad():
        out = net(images[-500:])
    return (F.cross_entropy(out, labels[-500:]).item(),
            (out.argmax(dim=1) == labels[-500:]).float().mean().item())


runs = {dtype: [train_digits(seed, dtype, LossScaler()
                             if dtype == half else None)
                for seed in range(num_seeds)]
        for dtype in (torch.float32, brain, half)}
for dtype, pairs in runs.items():
    losses, hits = zip(*pairs)
    print(f"{str(dtype)[6:]:9} held-out loss {min(losses):.3f} to "
          f"{max(losses):.3f}, accuracy {min(hits):.3f} to {max(hits):.3f}")

# %%
assert runs[torch.float32] != runs[brain] != runs[half]
full_run = epochs >= 10 and num_seeds >= 5  # not smoke or rehearsal
if full_run:
    for low in (brain, half):
        for (loss, hit), (loss16, hit16) in zip(runs[torch.float32],
                                                runs[low]):
            assert abs(loss - loss16) < 0.004
            assert abs(hit - hit16) < 0.0065  # three images
    alone = [loss for loss, _ in runs[torch.float32]]
    assert max(alone) < 0.16 and max(alone) - min(alone) > 0.012

# %% [markdown]
# The format changes the held-out loss less than the seed does.
# That is all this run says: the network is tiny, and its time was not measured.
# DeepSeek-V3 (2024) computed most of its matrix products in e4m3, with a scale per 1x128 tile of activations and per 128x128 block of weights; its report states a relative error of the loss below 0.25 % against `bfloat16`, on two smaller models.

# %% tags=["hide-input"]
def images_per_second(dtype, device, batch=256, side=224, width=1.0):
    """Training speed of ResNet-18 in a format."""
    torch.manual_seed(0)
    net = ResNet18(num_classes=10, width=width, reference=True).to(device)
    X = torch.randn(batch, 3, side, side, device=device)
    y = torch.randint(10, (batch,), device=device)
    net(X[:2])  # lazy layers take their sizes
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    return batch / seconds(lambda: amp_step(
        net, X, y, optimizer, dtype=dtype), device=device)


assert images_per_second(brain, "cpu", 4, 64, 0.125) > 0

# %% tags=["timing"]
if num_gpus():
    for dtype in (torch.float32, brain):
        print(f"{dtype}: {images_per_second(dtype, try_gpu().type):.0f} "
              f"images/s, PyTorch {torch.__version__}")
else:
    print("no GPU here: the speed of mixed precision was not measured")

# %% [markdown]
# ## The memory of training
#
# [Section 6.7](../06-builders-guide/07-gpus.ipynb) counted what a step holds.
# On paper it is a sum of bytes per parameter, plus the activations, results kept for the backward pass.
# Adam in `float32` holds a weight, a gradient and two moments of 4 bytes each: 16 bytes.
# With 16-bit weights and gradients, and a master copy and moments in `float32`, it is $2+2+4+4+4$: again 16 (Rajbhandari and others, 2020).
# What mixed precision saves is activations, not states.

# %% tags=["export"]
def training_memory(params, optimizer="adam", precision="float32",
                    activations=0):
    """Bytes that training holds, kind by kind.

    `params` is their number; `optimizer` "sgd", "momentum" or "adam".
    `precision`: "float32", also under autocast; "mixed" for weights and
    gradients of 16 bits with a float32 master copy; "bfloat16" for all in
    16 bits. `activations` are bytes, from a count, and are passed through.
    """
    slots = {"sgd": 0, "momentum": 1, "adam": 2}
    widths = {"float32": (4, 4, 0, 4), "mixed": (2, 2, 4, 4),
              "bfloat16": (2, 2, 0, 2)}  # weight, gradient, master, slot
    if optimizer not in slots or precision not in widths:
        raise ValueError(f"unknown optimizer {optimizer!r} or precision "
                         f"{precision!r}; there are {', '.join(slots)} and "
                         f"{', '.join(widths)}.")
    weight, gradient, master, slot = widths[precision]
    return {"weights": weight * params, "gradients": gradient * params,
            "master": master * params,
            "state": slot * slots[optimizer] * params,
            "activations": activations}

# %%
# check 13.4-C8: the formula against the tensors of a real step
def held(net, optimizer, extra=()):
    """Bytes of weights, gradients, master copies and optimizer state."""
    state = [t for slot in optimizer.state.values() for t in slot.values()
             if isinstance(t, torch.Tensor) and t.ndim]  # no step counters
    tensors = (net.parameters(), (p.grad for p in net.parameters()), extra,
               state)
    return [sum(t.nbytes for t in group) for group in tensors]


makers = {"sgd": lambda ps: torch.optim.SGD(ps, lr=0.1),
          "momentum": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
          "adam": torch.optim.Adam}
for name, make in makers.items():
    for precision in ("float32", "mixed", "bfloat16"):
        net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
        net = net if precision == "float32" else net.bfloat16()
        net(torch.ones(2, 20, dtype=net[0].weight.dtype)).sum().backward()
        master = [p.detach().float() for p in net.parameters()
                  if precision == "mixed"]
        for copy, p in zip(master, net.parameters()):
            copy.grad = p.grad.float()
        optimizer = make(master or net.parameters())
        optimizer.step()
        for copy in master:
            copy.grad = None  # needed only inside the step
        count = sum(p.numel() for p in net.parameters())
        *parts, last = training_memory(count, name, precision, 7).values()
        assert held(net, optimizer, master) == parts and last == 7
assert sum(training_memory(7e9).values()) == 112e9
assert sum(training_memory(7e9, precision="mixed").values()) == 112e9
for unknown in (("lion", "float32"), ("adam", "int3")):
    try:
        training_memory(1, *unknown)
    except ValueError as error:
        assert all(repr(word) in str(error) for word in unknown)
    else:
        raise AssertionError(f"{unknown} was accepted")

# %% tags=["hide-input"]
setups = [("sgd", "float32"), ("momentum", "float32"), ("adam", "float32"),
          ("adam", "mixed"), ("adam", "bfloat16")]
fig, ax = plt.subplots(figsize=(6.4, 2.6))
left = [0.0] * len(setups)
for kind in ("weights", "gradients", "master", "state"):
    widths = [training_memory(7e9, *setup)[kind] / 1e9 for setup in setups]
    ax.barh([f"{a}, {b}" for a, b in setups], widths, left=left, label=kind,
            edgecolor="white")
    left = [a + b for a, b in zip(left, widths)]
ax.axvline(80, color="#555555", ls="--", lw=1)
ax.invert_yaxis()
ax.set_xlabel("GB for 7 billion parameters, without activations")
ax.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.4, 1.2))
d2l.describe(fig, """Stacked bars: SGD needs 56 GB, with momentum 84, Adam 112
    in float32 and 112 in mixed precision, 56 in bfloat16 throughout. A dashed
    line marks the 80 GB of a card.""")

# %% [markdown]
# **Figure 13.4.5.** What weights, gradients and optimizer hold when a step is made; dashed, the 80 GB of an H100.
# [Section 13.6](06-ddp-fsdp.ipynb) divides it among devices.
#
# ### Buying memory with time
#
# [Checkpointing](../05-multilayer-perceptrons/03-backpropagation.ipynb) keeps the inputs of $k$ segments, and runs each segment again when the backward pass gets there (Chen and others, 2016).
# Let each of $n$ blocks keep $a$ bytes for its backward pass, and its input have $b$ bytes.
# The worst moment comes when the last segment has run again, while all $k$ inputs are still held:
#
# $$M(k)=k\,b+\frac nk\,a,\qquad\text{least at } k=\sqrt{na/b}. \tag{13.4.5}$$
#
# The common rule of $\sqrt n$ segments is the case $a=b$, as in the network of that section.
# Our blocks are residual blocks of width 128 with four times as many hidden units.

# %%
class Block(nn.Module):
    """x + an MLP with a hidden layer of four times the width."""

    def __init__(self, width=128, dropout=0.1):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(),
            nn.Linear(4 * width, width), nn.Dropout(dropout))

    def forward(self, X):
        return X + self.net(X)


def run(blocks, X, segments=None, **kwargs):
    """All blocks, in checkpointed segments if a number is given."""
    if segments is None:
        return nn.Sequential(*blocks)(X)
    size = len(blocks) // segments
    for i in range(0, len(blocks), size):
        X = checkpoint(nn.Sequential(*blocks[i:i + size]), X,
                       use_reentrant=False, **kwargs)
    return X


def saved_bytes(fn, ignore=()):
    """Bytes kept for the backward pass of fn(), each storage once."""
    known = {p.untyped_storage().data_ptr() for p in ignore}
    storages = [t.untyped_storage() for t in saved_tensors(fn)]
    return sum({s.data_ptr(): s.nbytes() for s in storages
                if s.data_ptr() not in known}.values())


twice = torch.ones(10, requires_grad=True)
assert saved_bytes(lambda: twice * twice) == 40

# %%
torch.manual_seed(0)
blocks = nn.ModuleList(Block() for _ in range(16))
saved = {}
for batch in (64, 1024):
    X = torch.randn(batch, 128, requires_grad=True)
    for on in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
            saved[batch, on] = saved_bytes(
                lambda: run(blocks, X).square().mean(), blocks.parameters())
    print(f"batch of {batch}: {saved[batch, False] / 1e6:.1f} MB, under "
          f"autocast {saved[batch, True] / 1e6:.1f} MB")
copies = 2 * sum(p.numel() for p in blocks.parameters())  # bytes
for batch in (64, 1024):  # less than that half of all is in 16 bits
    assert 0.48 < (saved[batch, True] - copies) / saved[batch, False] < 0.56
assert saved[64, True] > 1.2 * saved[64, False]
assert saved[1024, True] < 0.6 * saved[1024, False]

# %% [markdown]
# Sixteen bits nearly halve what the large batch keeps; with the small one the 16-bit copies of the weights, which are kept too, outweigh the gain.
#
# Now the checkpoints.
# Dropout is the trap: the second run must drop the same units.
# `checkpoint` therefore restores the state of the random generator, and without it the gradients are wrong.

# %%
# check 13.4-C9: equal gradients, fewer bytes, twice the forward passes
X, b = torch.randn(256, 128, requires_grad=True), 256 * 128 * 4


def loss_of(segments, **kwargs):
    return run(blocks, X, segments, **kwargs).square().mean()


def gradients_of(segments, **kwargs):
    """Gradients of all blocks, and how often blocks ran."""
    calls = []
    handles = [block.register_forward_pre_hook(
        lambda *args: calls.append(1)) for block in blocks]
    torch.manual_seed(1)  # of dropout
    loss = loss_of(segments, **kwargs)
    grads = torch.autograd.grad(loss, list(blocks.parameters()))
    for handle in handles:
        handle.remove()
    return grads, len(calls)


expected, calls = gradients_of(None)
assert calls == 16
everything = saved_bytes(lambda: loss_of(None), blocks.parameters())
a = (everything - b) // 16  # without the output
assert a == 10 * b  # input 1, hidden units 4 + 4, mask of dropout 1
for k in (4, 16):
    grads, calls = gradients_of(k)
    assert all(map(torch.equal, grads, expected)) and calls == 32
    wrong, _ = gradients_of(k, preserve_rng_state=False)
    assert not any(map(torch.equal, wrong, expected))
    kept = saved_bytes(lambda: loss_of(k), blocks.parameters())
    print(f"{k} segments keep {kept / 1e6:.2f} MB of "
          f"{everything / 1e6:.1f} MB")
    assert kept == (k + 1) * b  # and the output

# %% [markdown]
# At the end of the forward pass, fewer segments keep less, but the worst moment comes later.
# To see it we count the bytes of all tensors alive, with a mode that sees every operation and is told when a storage dies.
# As we want to know about activations, each gradient of a parameter is dropped once it is complete.

# %%
class Live(TorchDispatchMode):
    """Counts the bytes of the storages made inside it and still alive."""

    def __init__(self, known=()):
        super().__init__()
        self.now = self.peak = 0
        self.seen = {t.untyped_storage()._cdata for t in known}

    def forget(self, address, nbytes):
        self.seen.discard(address)
        self.now -= nbytes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else [out]:
            if not isinstance(t, torch.Tensor):
                continue
            storage = t.untyped_storage()
            address, nbytes = storage._cdata, storage.nbytes()
            if address not in self.seen:  # a view has a known storage
                self.seen.add(address)
                self.now += nbytes
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.forget, address, nbytes)
        return out

# %%
def peak(blocks, X, segments):
    """Peak of one step, in bytes, without parameters and held gradients."""
    def drop(p):
        p.grad = None

    params = [p for block in blocks for p in block.parameters()]
    hooks = [p.register_post_accumulate_grad_hook(drop) for p in params]
    X.grad = None
    with Live([X, *params]) as live:
        run(blocks, X, segments).square().mean().backward()
    for hook in hooks:
        hook.remove()
    return live.peak


ks = (1, 2, 4, 8, 16)
peaks = [peak(blocks, X, k) for k in ks]
model = [k * b + 16 // k * a for k in ks]
without = peak(blocks, X, None)
print("peaks in units of b:", [p // b for p in peaks],
      "without checkpoints:", without // b)
print("formula:            ", [m // b for m in model])

# %%
# check 13.4-C9: the measured peak is the formula and a constant
extra = {p // b - m // b for p, m in zip(peaks, model)}
assert len(extra) == 1 and 0 < extra.pop() < 8 and min(peaks) == peaks[-1]
assert abs(peaks[0] - without) < 2 * b  # one segment saves nothing
assert 1.4 < peaks[ks.index(4)] / peaks[-1] < 1.7
assert abs(math.sqrt(16 * a / b) - 12.65) < 0.01

# %% tags=["hide-input"]
ax = d2l.plot(ks, [[p / 1e6 for p in peaks], [m / 1e6 for m in model]],
              ["measured peak", "formula"], xlabel="segments $k$",
              ylabel="MB", fmts=["o-", "--"])
ax.set_xscale("log", base=2)
ax.set_ylim(bottom=0)
ax.axvline(math.sqrt(16 * a / b), color="#777777", lw=1)
d2l.describe(ax, """The measured peak falls with the number of segments from
    about 22 to 4 megabytes and is flat between 8 and 16; the formula runs
    just below it. A vertical line marks its minimum between 8 and 16.""")

# %% [markdown]
# **Figure 13.4.6.** Peak of the activations against the number of segments; the grey line marks $\sqrt{na/b}$.
# The measured curve lies above the formula by a constant, $5b$: the formula leaves out the gradients on their way back through a block, $6b$, and that of one weight matrix, $2b$, which lives for a moment; and it counts $3b$ too many, of inputs and of a mask that is already gone.
#
# Here $a/b=10$, the best number of segments is 12.6, and among the divisors of 16 it is 16: a checkpoint for every block.
# The four segments of the rule $\sqrt n$ have a peak about half as high again.
# One segment saves nothing, since the whole network runs again at once.
# The price is one more forward pass at most: with the backward pass as two units, 4 units instead of 3.

# %% [markdown]
# ## Summary
#
# - Time is latency plus bytes over bandwidth; memory moves in lines, and the evidence is a gather whose instructions stay the same, not a strided sum.
# - The roofline: below $P/B$ FLOP per byte memory sets the limit, above it arithmetic; what lies far below both roofs loses its time elsewhere, small operations to overhead.
# - Exponent bits are range, mantissa bits precision; formats of 4 or 8 bits depend on their scales, and against outliers `int8` and e2m1 need one per block.
# - Mixed precision keeps updates in `float32`; in `float16`, loss scaling also saves small gradients from becoming 0, which `bfloat16` does not need.
# - Adam costs 16 bytes per parameter in `float32` and with master weights; 16 bits save activations, once the batch outweighs the copies of the weights.
# - The best number of checkpoints is $\sqrt{na/b}$, for at most one forward pass more.

# %% [markdown]
# ## Exercises
#
# ### Exercise 13.4-1
#
# At which $n$ does the product of two $n\times n$ matrices in a format of $w$ bytes leave the memory roof, for given peak $P$ and bandwidth $B$?
# What is $n$ for the H100 of the table, in `float32` and in `bfloat16`?

# %% [markdown]
# #### Solution 13.4-1

# %% [markdown]
# The intensity is $\frac{2n^3}{3wn^2}=\frac{2n}{3w}$, and $\frac{2n}{3w}=\frac PB$ gives $n=\frac{3wP}{2B}$.
# With the peaks of the table that is 120 and 886: with `bfloat16` the matrices must be larger, because the peak grows more than the bytes shrink.

# %%
def leaves_roof(peak, bandwidth, width):
    """Edge of square matrices at the ridge point; width in bytes."""
    return 3 * width * peak / (2 * bandwidth)


for dtype, width, edge in (("float32", 4, 120), ("bfloat16", 2, 886)):
    peak_rate = h100[dtype]
    n = leaves_roof(peak_rate, h100["bytes/s"], width)
    assert round(n) == edge
    roof = roofline(peak_rate, h100["bytes/s"])
    assert roof(0.99 * 2 * n / (3 * width)) < peak_rate
    assert roof(1.01 * 2 * n / (3 * width)) == peak_rate

# %% [markdown]
# ### Exercise 13.4-2
#
# Sum 3000 ones in `float16` one by one, and get 3000 without a wider format.
# (Kahan's summation remembers what the last rounding lost.)

# %% [markdown]
# #### Solution 13.4-2

# %% [markdown]
# A second number of 16 bits carries the part that did not fit, and gives it to the next term.

# %%
def kahan(terms):
    """Compensated sum of terms (n,) in their own type."""
    total, lost = torch.zeros((2,), dtype=terms.dtype)
    for term in terms:
        term = term + lost
        new = total + term
        total, lost = new, term - (new - total)
    return total


assert kahan(ones).dtype == half
assert kahan(ones) == 3000 and kahan(ones[:2049]) == 2048  # 2049 isn't there
tenths, one_by_one = torch.full((1000,), 0.1), torch.tensor(0.0)
for tenth in tenths:
    one_by_one = one_by_one + tenth
assert (kahan(tenths) - 100).abs() < 1e-5 < (one_by_one - 100).abs() / 10

# %% [markdown]
# ### Exercise 13.4-3
#
# Build blocks with $a\approx b$, from one elementwise operation each.
# Predict the best number of segments for 16 of them, and measure the peak.

# %% [markdown]
# #### Solution 13.4-3

# %% [markdown]
# A sine keeps its input and nothing else, so $a=b$ and the best number is $\sqrt{16}=4$.

# %%
class Sine(nn.Module):
    def forward(self, X):
        return torch.sin(X)


waves = [Sine() for _ in range(16)]
one = saved_bytes(lambda: waves[0](X))
assert one == b
by_segments = {k: peak(waves, X, k) / b for k in ks}
print({k: round(value) for k, value in by_segments.items()})
assert min(by_segments, key=by_segments.get) == 4
assert by_segments[16] > 1.5 * by_segments[4]

# %% [markdown]
# ### Exercise 13.4-4
#
# A gradient is $10^{-8}$.
# What is the smallest power of two by which it must be scaled to survive in `float16`?

# %% [markdown]
# #### Solution 13.4-4

# %% [markdown]
# The smallest positive number is $2^{-24}\approx6\cdot10^{-8}$; what lies between half of it, $3\cdot10^{-8}$, and itself rounds up to it.
# $2\cdot10^{-8}$ still becomes 0, $4\cdot10^{-8}$ becomes $2^{-24}$: the factor is 4.
# The gradient that comes back is then wrong by about half of its true size.
# All 11 binary digits need a normal number, at least $2^{-14}$, and so a factor of 8192.

# %%
survivors = [2**i for i in range(16)
             if torch.tensor(2**i * 1e-8).to(half) > 0]
assert survivors[0] == 4
assert torch.tensor(4e-8).to(half) == 2**-24
relative = {i: abs(torch.tensor(2.0**i * 1e-8).to(half).item()
                   / 2.0**i - 1e-8) / 1e-8 for i in range(2, 16)}
assert 0.4 < relative[2] < 0.5 and max(relative[13], relative[15]) < 2**-11
assert 2**12 * 1e-8 < torch.finfo(half).smallest_normal < 2**13 * 1e-8

# %% [markdown]
# ### Exercise 13.4-5
#
# Two data centres on the coasts of a continent are 4000 km apart.
# How many round trips per second can one message make at most, in vacuum and in glass fibre, where light has two thirds of its speed?
# What does that mean for a training step that needs two synchronizations?

# %% [markdown]
# #### Solution 13.4-5

# %% [markdown]
# A round trip takes 27 ms in vacuum and 40 ms in fibre: at most 37 in a second, or 24 (just less than 25).
# With two synchronizations per step, fibre allows at most 12 steps per second, however fast the processors are.
# [Section 13.7](07-parameter-server.ipynb) has methods that synchronize less often.

# %%
def trip(metres, share=1.0):
    """Seconds there and back at a share of the speed of light."""
    return 2 * metres / (share * 299_792_458)


vacuum, fibre = trip(4e6), trip(4e6, 2 / 3)
assert (round(1e3 * vacuum), round(1e3 * fibre)) == (27, 40)
assert (math.floor(1 / vacuum), math.floor(1 / fibre)) == (37, 24)
assert math.floor(1 / (2 * fibre)) == 12

# %% [markdown]
# ## Sources
#
# - S. Williams, A. Waterman and D. Patterson, *Roofline: an insightful visual performance model for multicore architectures*, Communications of the ACM 52 (2009), [doi:10.1145/1498765.1498785](https://doi.org/10.1145/1498765.1498785).
# - N. Jouppi et al., *In-datacenter performance analysis of a tensor processing unit*, ISCA 2017, [arXiv:1704.04760](https://arxiv.org/abs/1704.04760).
# - P. Micikevicius et al., *Mixed precision training*, ICLR 2018, [arXiv:1710.03740](https://arxiv.org/abs/1710.03740): master weights, loss scaling, sums in `float32`.
# - S. Gupta et al., *Deep learning with limited numerical precision*, ICML 2015, [arXiv:1502.02551](https://arxiv.org/abs/1502.02551): training in 16-bit fixed point.
# - M. Croci et al., *Stochastic rounding: implementation, error analysis and applications*, Royal Society Open Science 9 (2022), [doi:10.1098/rsos.211631](https://doi.org/10.1098/rsos.211631): its history.
# - P. Micikevicius et al., *FP8 formats for deep learning* (2022), [arXiv:2209.05433](https://arxiv.org/abs/2209.05433): e4m3 and e5m2.
# - B. D. Rouhani et al., *Microscaling data formats for deep learning* (2023), [arXiv:2310.10537](https://arxiv.org/abs/2310.10537): the formats of the Open Compute Project's specification.
# - NVIDIA, *Pretraining large language models with NVFP4* (2025), [arXiv:2509.25149](https://arxiv.org/abs/2509.25149): the format, and training in it.
# - DeepSeek-AI, *DeepSeek-V3 technical report* (2024), [arXiv:2412.19437](https://arxiv.org/abs/2412.19437): Section 3.3, training in 8 bits.
# - S. Rajbhandari et al., *ZeRO: memory optimizations toward training trillion parameter models*, SC 2020, [arXiv:1910.02054](https://arxiv.org/abs/1910.02054): 16 bytes per parameter.
# - T. Chen et al., *Training deep nets with sublinear memory cost* (2016), [arXiv:1604.06174](https://arxiv.org/abs/1604.06174).
# - PyTorch documentation, [Automatic mixed precision](https://docs.pytorch.org/docs/stable/amp.html): the lists of operations.
# - J. Dean, *Designs, lessons and advice from building large distributed systems*, talk at LADIS 2009, [slides](https://www.cs.cornell.edu/projects/ladis2009/talks/dean-keynote-ladis2009.pdf): latencies.
# - J. Bonér, *Latency numbers every programmer should know* (2012), [list](https://gist.github.com/jboner/2841832): Dean's numbers with an SSD.
# - JEDEC, *DDR5 SDRAM*, JESD79-5 (2020), [standard](https://www.jedec.org/standards-documents/docs/jesd79-5): 4800 million transfers per second of 8 bytes each.
# - NVIDIA, *H100 Tensor Core GPU* (2023), [data sheet](https://www.nvidia.com/en-us/data-center/h100/): SXM version, 80 GB.
# - NVIDIA, *H200 Tensor Core GPU* (2024), [data sheet](https://www.nvidia.com/en-us/data-center/h200/).
# - NVIDIA, *DGX B200* (2025), [data sheet](https://www.nvidia.com/en-us/data-center/dgx-b200/): 64 TB/s of memory and 14.4 TB/s of NVLink for eight GPUs.
# - PCI-SIG, *PCI Express base specification 5.0* (2019), [specification](https://pcisig.com/specifications): 32 Gbit/s per lane, before encoding.
# - IEEE, *802.3bs-2017* (2017), [doi:10.1109/IEEESTD.2017.8207825](https://doi.org/10.1109/IEEESTD.2017.8207825): Ethernet at 400 Gbit/s.
