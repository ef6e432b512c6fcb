# ---
# jupyter:
#   d2l:
#     data: [airfoil]
#     profiles:
#       gpu:
#         runs: 40
#       smoke:
#         steps: 75
#         runs: 2
#         workers: 256
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
# # 13.7 Parameter servers and all-reduce
#
# Data-parallel workers must add their gradients at every step.
# Where the sum is formed, and along which wires, decides whether the tenth worker makes training faster or slower.
# And if workers stop waiting for each other, or send less than the whole gradient, the question becomes whether training still converges.
#
# **You will**
#
# - compute what a way of synchronizing costs, in bandwidth and in latency;
# - build ring all-reduce, in one process and between real ones, and simulate it up to thousands of workers;
# - build a key-value parameter server, and predict the learning rate above which stale gradients diverge;
# - compress gradients and synchronize less often, and see under which conditions either is free.
#
# **Cost**: about half a minute on a CPU, with at most three processes; no GPU needed; a download of 58 kB.

# %%
import json
import math
from collections import Counter

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import fit_normal_equations
from d2l_helpers.chapters.optimization import Airfoil

d2l.use_style()
f64 = torch.float64

# %% tags=["parameters"]
steps = 300  # of each of four workers, in the last experiment
runs = 20  # averaged there
workers = 4096  # in the largest ring that is simulated

# %% [markdown]
# ## Where to add
#
# Take four GPUs that hold 160 MB of gradients each, as 40 million numbers of 4 bytes do.
# Each has one port, through which it can send 16 GB/s and receive 16 GB/s at the same time, so one whole gradient takes 10 ms.
#
# We write a way of synchronizing as a plan: a list of rounds, each a list of messages `(source, target, chunks)` that leave at the same moment.
# In a round a port sends at most one message and receives at most one.
# The vector is cut into as many chunks as there are GPUs.
# In the first rounds the target adds what arrives; in the remaining ones it copies.
# Here are three plans: sum on the first GPU, sum in the CPU's memory, or make each GPU responsible for one quarter.

# %%
def one_gpu(n):
    every = list(range(n))
    return ([[(i, 0, every)] for i in range(1, n)],
            [[(0, i, every)] for i in range(1, n)])


def cpu(n):
    """The CPU is node n."""
    every = list(range(n))
    return ([[(i, n, every)] for i in range(n)],
            [[(n, i, every)] for i in range(n)])


def quarters(n):
    """In round r each node serves the one r places further."""
    adding = [[(i, (i + r) % n, [(i + r) % n]) for i in range(n)]
              for r in range(1, n)]
    copying = [[(i, (i + r) % n, [i]) for i in range(n)]
               for r in range(1, n)]
    return adding, copying

# %% [markdown]
# A round takes a latency $\alpha$, in seconds, and then as long as its longest message.

# %%
def sync_time(strategy, n, S, B, alpha=0.0):
    """Seconds to synchronize S bytes among n nodes over ports of B bytes/s."""
    adding, copying = strategy(n)
    seconds = 0.0
    for messages in adding + copying:
        longest = max(len(chunks) for *_, chunks in messages)
        seconds += alpha + longest / n * S / B
    return seconds

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 2.3), layout="constrained",
                         sharex=True, sharey=True)
for ax, strategy in zip(axes, (one_gpu, cpu, quarters), strict=True):
    start, (adding, copying) = 0.0, strategy(4)
    for r, messages in enumerate(adding + copying):
        width = 10 * max(len(chunks) for *_, chunks in messages) / 4
        for _, j, chunks in messages:
            copied = r >= len(adding)
            ax.barh(j, width, left=start, height=0.7, edgecolor="w",
                    color="C1" if copied else "C0", linewidth=0.8,
                    hatch="//" if copied else None)
        start += width
    name = {one_gpu: "one GPU", cpu: "CPU"}.get(strategy, "quarters")
    ax.set_title(f"{name}: {start:g} ms", fontsize=9)
    ax.set(xlabel="ms", xlim=(0, 85))
axes[0].set_yticks(range(5), labels=["GPU 0", "GPU 1", "GPU 2", "GPU 3",
                                     "CPU"])
axes[0].invert_yaxis()
d2l.describe(fig, """Three time charts of the receiving ports. Summing on one
    GPU keeps its port busy for 30 ms, then sends for 30 ms; through the CPU
    it is 40 and 40; with quarters all four ports work for 15 ms.""")

# %% [markdown]
# **Figure 13.7.1.** When each port receives: what is added (blue) and what is copied (hatched).
# The third plan sends as much in total as the first, $6S$; it is faster because no port is idle.

# %% [markdown]
# Does a plan really add?
# We carry it out on data and count what each node sends.

# %%
def carry_out(plan, data):
    """Send messages as planned, on a copy of data (nodes, chunks, size).

    Returns what the nodes hold then, and how many numbers each has sent.
    """
    data, sent = data.clone(), [0] * len(data)
    for rounds, add in zip(plan, (True, False), strict=True):
        for messages in rounds:
            old = data.clone()  # all messages leave before any arrives
            for i, j, chunks in messages:
                kept = data[j, chunks] if add else 0
                data[j, chunks] = kept + old[i, chunks]
                sent[i] += old[i, chunks].numel()
    return data, sent


def one_at_a_time(plan):
    """Whether each port sends and receives at most one message a round."""
    return all(len(messages) == len({i for i, *_ in messages})
               == len({j for _, j, _ in messages})
               for messages in plan[0] + plan[1])


def gradients(n, size=6, seed=0):
    """Whole numbers (n, n, size), so that sums are exact."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, (n, n, size), generator=rng).double()

# %%
# check 13.7-C1: three plans that add up, in 60, 80 and 15 ms
for strategy, ms in ((one_gpu, 60), (cpu, 80), (quarters, 15)):
    data = gradients(4)
    if strategy is cpu:
        data = torch.cat((data, torch.zeros_like(data[:1])))
    result, sent = carry_out(strategy(4), data)
    assert torch.equal(result, data.sum(dim=0).expand_as(data))
    assert abs(sync_time(strategy, 4, 160e6, 16e9) - ms / 1000) < 1e-12
    assert one_at_a_time(strategy(4))
    assert sum(sent) == (8 if strategy is cpu else 6) * data[0].numel()
assert len(set(sent)) == 1 and data.sum(dim=0).ne(0).any()
both = carry_out(([[(0, 1, [0, 1]), (1, 0, [0, 1])]], []), gradients(2))[0]
assert torch.equal(both[0], both[1])  # two messages that cross
assert carry_out(([[(0, 1, [0])]], []), gradients(2))[1] == [6, 0]
uneven = [[(0, 1, [0]), (2, 3, [1, 2, 3])]], []
assert sync_time(lambda n: uneven, 4, 8, 1) == 6
for messages in ([(0, 2, [0]), (1, 2, [0])], [(0, 1, [0]), (0, 2, [0])]):
    assert not one_at_a_time(([messages], []))
    assert not one_at_a_time(([], [messages]))

# %% [markdown]
# The 60 and 80 ms assume that nothing is sent back before the whole sum is there; with the vector in pieces, adding and copying could overlap.
# In training, synchronization also overlaps with the backward pass: the gradients of the last layers are ready first and travel while the earlier ones are computed ([Section 13.6](06-ddp-fsdp.ipynb)).
# Suppose that the gradients come in $L$ equal buckets, that the backward pass takes $T_b$, and that all buckets together need $T_c$ on the wires.
# Then both are done after
#
# $$T=\begin{cases}T_b+T_c/L&\text{if }T_c\le T_b,\\ T_b/L+T_c&\text{otherwise:}\end{cases} \tag{13.7.1}$$
#
# only the last bucket, or the time until the first, is not hidden.
# With $T_b=30$ ms, $T_c=15$ ms and 4 buckets that is 33.75 ms instead of 45.
# By (13.7.1) more buckets are always better, but it leaves out the latency that each one pays.

# %%
def overlapped(T_b, T_c, L):
    """When the last of L buckets is through, one after another."""
    free = 0.0
    for bucket in range(1, L + 1):
        free = max(free, bucket * T_b / L) + T_c / L
    return free


assert abs(overlapped(30, 15, 4) - 33.75) < 1e-9
for T_b, T_c, L in ((30, 15, 7), (30, 60, 4), (30, 60, 1), (10, 10, 5)):
    expected = T_b + T_c / L if T_c <= T_b else T_b / L + T_c
    assert abs(overlapped(T_b, T_c, L) - expected) < 1e-9

# %% [markdown]
# ## The ring
#
# The plan with quarters needs a wire between every two nodes.
# *Ring all-reduce* takes the same time and sends only to the next node in a circle.
# At step $t=0,1,\dots$ node $i$ passes on chunk $i-t$, counted around the circle.
# In the first $n-1$ steps (reduce-scatter) the chunk grows at each stop, and each node ends with one complete chunk; in the next $n-1$ (all-gather) the complete chunks go around.

# %%
def ring(n):
    """The plan of 2 (n - 1) rounds in which all send to the next node."""
    rounds = [[(i, (i + 1) % n, [(i - t) % n]) for i in range(n)]
              for t in range(2 * (n - 1))]
    return rounds[:n - 1], rounds[n - 1:]


def ring_allreduce(chunks_per_node):
    """What each node holds in the end, and how much it sent.

    `chunks_per_node` has shape (n, n, size): one vector of n chunks a node.
    """
    return carry_out(ring(len(chunks_per_node)), chunks_per_node)

# %% tags=["hide-input"]
def draw(fig, steps_done):
    n, ax, steps_done = 4, fig.subplots(), int(steps_done)
    rounds = [*ring(n)[0], *ring(n)[1]]
    plan = (rounds[:min(steps_done, n - 1)], rounds[n - 1:steps_done])
    own = 2.0 ** torch.arange(n)[:, None, None].expand(n, n, 1)
    held = carry_out(plan, own)[0][:, :, 0].int()  # a bit for each summand
    new = {(j, c[0]) for _, j, c in rounds[steps_done - 1]} if (
        steps_done) else set()
    for i in range(n):
        for c in range(n):
            parts = [str(k) for k in range(n) if held[i, c] >> k & 1]
            ax.text(c, i, "+".join(parts), ha="center", va="center",
                    fontsize=10, color="k")
            ax.add_patch(plt.Rectangle(
                (c - 0.48, i - 0.46), 0.96, 0.92, alpha=0.75, fc={
                    1: "#eeeeee", 2: "#cfe0f3", 3: "#9cc3e6"}.get(
                        len(parts), "#f5b97f"),
                lw=2 if (i, c) in new else 0, ec="k"))
    ax.set_xticks(range(n), labels=[f"chunk {c}" for c in range(n)])
    ax.set_yticks(range(n), labels=[f"node {i}" for i in range(n)])
    ax.set(xlim=(-0.5, 3.5), ylim=(3.5, -0.5),
           title=f"after {steps_done} of {2 * (n - 1)} steps")
    ax.grid(False)


d2l.sliders(draw, """A table of four nodes and four chunks; each cell names
    the nodes whose values it sums. After three steps each node holds one
    complete chunk, on a diagonal.""", figsize=(5.2, 2.6),
            steps_done=range(7))

# %% [markdown]
# **Figure 13.7.2.** The ring with four nodes: which nodes' values are summed in each chunk.
# Outlined: what has just arrived; orange: complete.
#
# Each node sends one chunk of size $S/n$ per step, together
#
# $$2(n-1)\cdot\frac Sn=\frac{2(n-1)}nS, \tag{13.7.2}$$
#
# which is $S$ for two nodes and less than $2S$ however many there are.
# (A factor $\frac{n-1}n$, as some texts have it, counts only the first half.)
# As long as only the nodes add, the busiest one sends at least this much in any all-reduce (Patarasuk and Yuan, 2009); switches that add need only $S$ from each node (Graham and others, 2016).

# %%
# check 13.7-C2: the sum for n = 2 to 8, in 2 (n - 1) steps, and what is sent
share = {}
for n in range(2, 9):
    data = gradients(n)
    result, sent = ring_allreduce(data)
    assert torch.equal(result, data.sum(dim=0).expand_as(data))
    assert one_at_a_time(ring(n)) and len(set(sent)) == 1
    assert sent[0] * n == 2 * (n - 1) * data[0].numel()
    assert [len(rounds) for rounds in ring(n)] == [n - 1, n - 1]
    share[n] = sent[0] / data[0].numel()
assert (share[2], share[4], share[8]) == (1, 1.5, 1.75)

# %% [markdown]
# For eight GPUs, 160 MB and 54 GB/s (three links of 18 GB/s, used side by side), this is 5.2 ms; the limit for many nodes, $2S/B$, is 5.9 ms.

# %%
# check 13.7-C1: 5.93 ms is the limit, and 5.19 ms the ring of eight
B = 3 * 18e9
assert abs(2 * 160e6 / B - 5.93e-3) < 5e-6
assert abs(sync_time(ring, 8, 160e6, B) - 5.19e-3) < 5e-6
assert 0.99 < sync_time(ring, 128, 160e6, B) / (2 * 160e6 / B) < 1

# %% [markdown]
# ### Between processes
#
# Now for real: three processes, each of which knows only its own vector.
# (With two, left and right would be the same, and a ring that runs the wrong way would go unnoticed.)
# `isend` and `irecv` start a message and return; `wait` blocks until it is through.
# Sending and receiving must both be under way before anyone waits: if all nodes first waited for their own message to be taken, the ring could stand still.

# %%
def ring_process(x, rank, n):
    """The sum of x over n processes, and how many numbers this one sent."""
    adding, copying = ring(n)
    chunks, sent = list(x.tensor_split(n)), 0
    for t, messages in enumerate(adding + copying):
        _, right, (out,) = messages[rank]
        left, _, (into,) = messages[(rank - 1) % n]
        arrived = torch.empty_like(chunks[into])
        requests = [dist.isend(chunks[out], right),
                    dist.irecv(arrived, left)]
        for request in requests:
            request.wait()
        sent += chunks[out].numel()
        chunks[into] = arrived + chunks[into] if t < n - 1 else arrived
    return torch.cat(chunks), sent

# %%
main = """
dist.init_process_group("gloo")
rank, report = dist.get_rank(), {}
for n, size in ((2, 8), (3, 12), (3, 3000)):
    group = dist.new_group(range(n))
    if rank < n:
        rng = torch.Generator().manual_seed(rank)
        x = torch.randn(size, generator=rng)
        own, sent = ring_process(x, rank, n)
        dist.all_reduce(x, group=group)
        row = [sent, (own - x).abs().max().item(), own.tolist()]
        rows = [None] * n
        dist.all_gather_object(rows, row, group=group)
        report[f"{n} x {size}"] = rows
if rank == 0:
    print(json.dumps(report))
dist.destroy_process_group()
"""
script = d2l.write_script("ring.py", "import json\nimport torch",
                          "import torch.distributed as dist", ring,
                          ring_process, main)
report = json.loads(d2l.torchrun(script, nproc=3).stdout)

# %%
# check 13.7-C3: the processes hold the sum, with 2 (n - 1) / n sent
for name, rows in report.items():
    sent, errors, results = zip(*rows, strict=True)
    n, size = map(int, name.split(" x "))
    assert list(sent) == [2 * (n - 1) * size // n] * n
    assert all(result == results[0] for result in results)  # to the bit
    total = sum(torch.randn(size, generator=torch.Generator().manual_seed(k))
                for k in range(n))
    torch.testing.assert_close(torch.tensor(results[0]), total)
    assert max(errors) < 1e-6
    print(f"{name}: each sent {sent[0]}, largest difference from "
          f"all_reduce {max(errors):.1e}")
assert report["2 x 8"][0][:2] == [8, 0]

# %% [markdown]
# All processes hold the same bits, because one node completes the sum of a chunk and the others copy it.
# With two processes they are also those of `dist.all_reduce`; with three, it may add in another order, and floating-point sums depend on the order.

# %% [markdown]
# ## Latency
#
# The ring has $2(n-1)$ rounds.
# For a few kilobytes on many nodes, it is the number of rounds that costs.
# A *binary tree* adds in pairs, then pairs of pairs, and sends the sum back the same way, in $2\log_2n$ rounds of the whole vector:
#
# $$T_{\text{ring}}=2(n-1)\alpha+\frac{2(n-1)}n\frac SB,\qquad T_{\text{tree}}=2\log_2n\left(\alpha+\frac SB\right). \tag{13.7.3}$$
#
# The two are equal at
#
# $$S^*=\alpha B\,\frac{n-1-\log_2n}{\log_2n-\frac{n-1}n}, \tag{13.7.4}$$
#
# which is $0.8\,\alpha B$ for $n=4$ and 0 for $n=2$: two nodes gain nothing from a tree.
#
# A third plan has both advantages, if every two nodes are connected at full speed and $n$ is a power of 2.
# In *recursive halving and doubling* (described by Rabenseifner, 2004, among others) node $i$ exchanges half of the vector with the node $n/2$ away, then a quarter with the one $n/4$ away, and so on; then the same way back.

# %%
def tree(n):
    """The plan of 2 log2(n) rounds; n is a power of 2."""
    every, gaps = list(range(n)), [2**k for k in range(n.bit_length() - 1)]
    up = [[(i + gap, i, every) for i in range(0, n, 2 * gap)]
          for gap in gaps]
    down = [[(j, i, c) for i, j, c in messages] for messages in up[::-1]]
    return up, down


def halving(n):
    """Exchange halves, quarters, ... with nodes n/2, n/4, ... away."""
    gaps = [2**k for k in range(n.bit_length() - 1)]

    def block(i, gap):
        """The `gap` chunks around chunk i."""
        return [c for c in range(n) if c // gap == i // gap]
    return ([[(i, i ^ gap, block(i ^ gap, gap)) for i in range(n)]
             for gap in gaps[::-1]],
            [[(i, i ^ gap, block(i, gap)) for i in range(n)]
             for gap in gaps])

# %%
def closed_form(strategy, n, S, B, alpha):
    """Seconds in closed form, (13.7.3) for the first two."""
    k, sent = math.log2(n), 2 * (n - 1) / n * S
    return {ring: 2 * (n - 1) * alpha + sent / B,
            tree: 2 * k * (alpha + S / B),
            halving: 2 * k * alpha + sent / B}[strategy]

# %%
# check 13.7-C7: closed forms, and where ring and tree are equal
alpha, B = 10e-6, 16e9
for n in (2, 4, 8, 16):
    data = gradients(n)
    for strategy in (ring, tree, halving):
        assert one_at_a_time(strategy(n))
        assert torch.equal(carry_out(strategy(n), data)[0],
                           data.sum(dim=0).expand_as(data))
        for S in (1e3, 1e9):
            T = closed_form(strategy, n, S, B, alpha)
            assert abs(sync_time(strategy, n, S, B, alpha) / T - 1) < 1e-9
    low, high = 0.0, 1e9
    for _ in range(60):  # bisection
        S = (low + high) / 2
        slower = sync_time(ring, n, S, B, alpha) > sync_time(tree, n, S, B,
                                                             alpha) + 1e-15
        low, high = (S, high) if slower else (low, S)
    k = math.log2(n)
    star = alpha * B * (n - 1 - k) / (k - (n - 1) / n)
    assert abs(low - star) < 1e-3
    assert n != 4 or abs(star / (alpha * B) - 0.8) < 1e-12

# %% [markdown]
# ### Thousands of workers
#
# Equation (13.7.2) seems to promise that a ring may be as long as you like: the bytes per node hardly grow.
# But the rounds do.
# In (13.7.3) the ring's latency overtakes its transfer near $n=S/(\alpha B)$, which is 1000 workers for 160 MB, 16 GB/s and $\alpha=10$ µs.
#
# The formulas assume that all messages of a round arrive together.
# In the following simulation each node has its own clock: it starts a step when its previous message has left and that of its neighbour has arrived, and any message may be late.

# %%
def simulate_ring(n, S, B, alpha, late, seed=0):
    """All-reduce on n nodes, step by step, each with its own clock.

    Messages arrive late by random times, exponential with a mean of late.
    Returns whether all hold the sum, bytes sent per node, and the seconds
    for each mean in the list `late`.
    """
    late = torch.tensor(late, dtype=f64)[:, None]  # (means, 1)
    rng = torch.Generator().manual_seed(seed)
    held = torch.randint(-9, 10, (n, n), generator=rng, dtype=torch.int32)
    total, node = held.sum(dim=0), torch.arange(n)
    source = (node - 1) % n  # of what node i receives
    clock, sent = torch.zeros(len(late), n, dtype=f64), 0.0
    for t in range(2 * (n - 1)):
        place = node, (source - t) % n
        message = held[source, (source - t) % n]
        held[place] = message + (held[place] if t < n - 1 else 0)
        gone = clock + alpha + S / n / B  # when node i has sent
        delay = torch.empty(n, dtype=f64).exponential_(generator=rng)
        clock = torch.maximum(gone, (gone + late * delay)[:, source])
        sent += S / n
    correct = torch.equal(held, total.to(held.dtype).expand(n, n))
    return correct, sent, clock.amax(dim=1).tolist()

# %%
sizes = [n for n in (4, 16, 64, 256, 1024, 4096) if n <= workers]
S = 160e6
simulated = {}
for n in sizes:
    correct, sent, simulated[n] = simulate_ring(n, S, B, alpha, [0, alpha])
    assert correct and abs(sent / (2 * (n - 1) / n * S) - 1) < 1e-9
    on_time, seconds = simulated[n]
    assert abs(on_time / closed_form(ring, n, S, B, alpha) - 1) < 1e-9
    extra = (seconds - on_time) / (2 * (n - 1) * alpha)
    print(f"{n:4} workers: {1000 * on_time:6.1f} ms, with late messages "
          f"{1000 * seconds:6.1f} ms, {extra:.2f} alpha more per step")
    assert 1.4 < extra < 1.8 or n < 64
if n == 4096:
    assert 4.5 < on_time / closed_form(halving, n, S, B, alpha) < 5.5
    assert 2 < seconds / on_time < 2.5
    assert 8.8 < sum(1 / k for k in range(1, n + 1)) < 9

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained",
                                  sharey=True)
names = {ring: "ring", tree: "tree", halving: "halving and doubling"}
grid, nodes = torch.logspace(3, 9, 61).tolist(), [2**k for k in range(2, 13)]
for style, (strategy, name) in zip(("-", "--", ":"), names.items()):
    left.plot(grid, [1000 * closed_form(strategy, 64, s, B, alpha)
                     for s in grid], style, label=name)
    right.plot(nodes, [1000 * closed_form(strategy, n, S, B, alpha)
                       for n in nodes], style)
for k, name in enumerate(("ring, simulated", "with late messages")):
    right.plot(sizes, [1000 * simulated[n][k] for n in sizes], "o^"[k],
               color="k", mfc=("k", "none")[k], ms=5, label=name)
left.set(xscale="log", yscale="log", xlabel="bytes", ylabel="ms",
         title="64 workers")
right.set(xscale="log", xlabel="workers", title="160 MB")
left.legend(fontsize=8)
right.legend(fontsize=8)
d2l.describe(fig, """Left, time against message size for 64 workers: all flat
    for small messages; the ring starts ten times as high as the tree and
    ends several times lower; halving follows the lower one. Right, time
    against the number of workers for 160 MB: halving stays near 20 ms, the
    ring leaves it at a few hundred workers and is five times slower at 4096,
    and late messages double that.""")

# %% [markdown]
# **Figure 13.7.3.** The model with an assumed latency of 10 µs and 16 GB/s: lines by formula, marks by simulation.
#
# The simulated rings add up, and without late messages take the time of (13.7.3): with 4096 workers five times as long as halving and doubling.
# If each message is late by a random time of mean $\alpha$, a step takes about $1.6\,\alpha$ longer from 64 workers to 4096.
# That is far less than the $8.9\,\alpha$ by which the latest of 4096 messages is late on average: nobody waits for a whole round, only for the neighbour.
#
# Real networks are neither fully connected nor uniform, so libraries choose by message size and topology.
# The tree above sends the whole vector at every level; NCCL's trees are pipelined and come in pairs (Hu and others, 2025), as Sanders, Speck and Träff (2009) proposed, so that a node that is a leaf of one tree works in the other.
# Within a machine links are often much faster than between machines; then one adds inside first (Exercise 4).

# %% [markdown]
# ## The parameter server
#
# Between machines, an older design is still at work: servers that keep the parameters, and workers that talk to servers only (Li and others, 2014).
# The interface is that of a *key-value store*: `push(key, value)` adds to what is stored, `pull(key)` returns it.
# Exact addition is commutative and associative, so pushes may arrive in any order, and each machine can first add up its own devices:
#
# $$\mathbf{g}_i=\sum_k\sum_j\mathbf{g}_{ijk}, \tag{13.7.5}$$
#
# where $\mathbf{g}_{ijk}$ is the gradient for parameter $i$ from GPU $j$ of machine $k$.
# We spread each tensor over all servers.

# %%
class KVStore:
    """Sums of all that was pushed, each tensor spread over the servers."""

    def __init__(self, num_servers=1):
        self.servers = [{} for _ in range(num_servers)]
        self.shapes = {}
        self.received = [0] * num_servers  # numbers pushed to each server

    def push(self, key, value):
        self.shapes[key] = value.shape
        parts = value.flatten().tensor_split(len(self.servers))
        for s, part in enumerate(parts):
            stored = self.servers[s].get(key, torch.zeros_like(part))
            self.servers[s][key] = stored + part  # a new tensor
            self.received[s] += part.numel()

    def pull(self, key):
        parts = [server[key] for server in self.servers]
        return torch.cat(parts).reshape(self.shapes[key])

# %%
# check 13.7-C4: any order, any number of servers, added locally or not
rng = torch.Generator().manual_seed(4)
g = torch.randint(-9, 10, (3, 2, 5, 4), generator=rng).double()  # k, j, ...
single, sharded, local = KVStore(1), KVStore(4), KVStore(4)
for m in torch.randperm(6, generator=rng).tolist():
    single.push("W", g.flatten(0, 1)[m])
for k in (2, 0, 1):
    local.push("W", g[k].sum(dim=0))
    for j in (1, 0):
        sharded.push("W", g[k, j])
for store in (single, sharded, local):
    assert torch.equal(store.pull("W"), g.sum(dim=(0, 1)))
assert single.received == [120]
assert sharded.received == [30] * 4 and local.received == [15] * 4

# %% [markdown]
# If $m$ workers push and pull $S$ bytes each, one server moves $mS$ in each direction: its time grows like $m$.
# With $s\le m$ servers it is $\frac{2m}s\frac SB$, and with as many servers as workers $2S/B$ whatever $m$; then the workers' own ports are equally busy.
# This leaves out latency: each worker now sends $m$ smaller messages, so its number of rounds grows like that of the ring.
#
# "Any order" is exact here because the numbers are whole.
# Floating-point addition is not associative, so two orders may differ in the last bits:

# %%
values = torch.randn(6, 1000, generator=rng)
orders = []
for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 2, 0]):
    store = KVStore(4)
    for i in order:
        store.push("W", values[i])
    orders.append(store.pull("W"))
print(f"largest difference {(orders[0] - orders[1]).abs().max():.1e}")
assert not torch.equal(*orders)
torch.testing.assert_close(*orders, rtol=0, atol=1e-5)

# %% [markdown]
# A server that adds pushes in the order of arrival is therefore not reproducible to the bit, while a fixed ring is.

# %% [markdown]
# ## Stale gradients
#
# *Synchronous training* waits for all workers at each step, so the slowest sets the pace.
# In *asynchronous training* a worker pulls, computes, pushes and goes on.
# Nobody waits, but while it computes, others push: its gradient is a *stale gradient*.
# *Bounded staleness* is between the two: the fastest worker may be at most a fixed number of steps ahead of the slowest, and then waits (Ho and others, 2013).
#
# If $m$ equally fast workers take turns, each gradient after the first turn is exactly $\tau=m-1$ updates old.
# On a quadratic with curvature $\lambda$, one coordinate then follows
#
# $$x_{t+1}=x_t-\eta\lambda\,x_{t-\tau}. \tag{13.7.6}$$

# %%
def async_sgd(delay, eta, lam, steps=60):
    """x_0 = 1, ..., x_steps of (13.7.6); all is 1 before the start."""
    x = [1.0] * (delay + 1)
    for _ in range(steps):
        x.append(x[-1] - eta * lam * x[-1 - delay])
    return x[delay:]


def take_turns(grad, x0, eta, workers, steps):
    """The path of asynchronous workers with one parameter server."""
    store, path = KVStore(2), [x0]
    store.push("x", x0)
    copies = [store.pull("x") for _ in range(workers)]
    for t in range(steps):
        store.push("x", -eta * grad(copies[t % workers]))
        copies[t % workers] = store.pull("x")
        path.append(copies[t % workers])
    return torch.stack(path)


for workers in (1, 3, 5):
    path = take_turns(lambda x: 2 * x, torch.ones(4, dtype=f64), 0.1, workers,
                      60)
    model = async_sgd(workers - 1, 0.1, 2)
    torch.testing.assert_close(path[:, 0], torch.tensor(model, dtype=f64))

# %% [markdown]
# When does it converge?
# Try $x_t=z^t$: with $a=\eta\lambda$, (13.7.6) becomes $z^{\tau+1}-z^\tau+a=0$.
# At $a=0$ one root is 1 and the others are 0; as $a$ grows, the first moves inwards, and stability ends where a root reaches the unit circle.
# There $z=e^{i\theta}$ and $a=z^\tau(1-z)$, whose modulus is $2\sin\frac\theta2$ and whose phase is $(\tau+\frac12)\theta-\frac\pi2$.
# The phase must be 0, up to full turns, so the smallest angle is $\theta=\frac\pi{2\tau+1}$, and
#
# $$0<\eta\lambda<2\sin\frac{\pi}{2(2\tau+1)}. \tag{13.7.7}$$
#
# Beyond it no root comes back: on the circle $\operatorname{Re}z^{\tau+1}=-\frac a2$, so $\frac{d\log|z|}{da}=\operatorname{Re}\frac1{\tau a-z^{\tau+1}}>0$ at every crossing.
# The result is classical (Levin and May, 1976).
# Without delay it is the limit 2 of [Section 12.3](../12-optimization/03-gradient-descent.ipynb); for large $\tau$ it is about $\frac\pi{2\tau}$.
# Twice as many workers make twice as many updates in the same time, but near the limit each update may be only half as large.

# %%
def radius(delay, a):
    """Largest modulus of a root of z^(delay + 1) - z^delay + a."""
    companion = torch.zeros(delay + 1, delay + 1, dtype=f64)
    companion[0, 0] = 1
    companion[0, -1] -= a
    companion[1:, :-1] += torch.eye(delay, dtype=f64)
    return torch.linalg.eigvals(companion).abs().max().item()


def limit(delay):
    return 2 * math.sin(math.pi / (2 * (2 * delay + 1)))

# %%
# check 13.7-C5: the limits, and that stability ends there
expected = {0: 2, 1: 1, 2: 0.618034, 4: 0.347296, 8: 0.184537}
for delay, a in expected.items():
    assert abs(limit(delay) - a) < 5e-7
    assert radius(delay, 0.999 * a) < 1 < radius(delay, 1.001 * a)
    assert all(radius(delay, r * a) < 1 for r in (0.01, 0.1, 0.5, 0.9))
    assert all(radius(delay, r * a) > 1 for r in (1.1, 1.5, 3))
    for factor in (0.95, 1.05):  # and the path agrees
        path = async_sgd(delay, 1, factor * a, 2000)
        assert (max(map(abs, path[-50:])) < 1) == (factor < 1)

# %% [markdown]
# The airfoil data of [Section 12.5](../12-optimization/05-minibatch-sgd.ipynb) bring what the model lacks: six curvatures, and noise from batches of 10.

# %%
data = Airfoil()
real = data.source == "real"
A = torch.cat((data.X, torch.ones_like(data.y)), dim=1)  # (1500, 6)
y = data.y[:, 0]
best = fit_normal_equations(data.X, data.y)[:, 0]
hessian = A.T @ A / len(A)
largest = torch.linalg.eigvalsh(hessian)[-1].item()


def excess(theta):
    """Loss above the minimum, for parameters theta (..., 6)."""
    return 0.5 * ((theta - best) @ hessian * (theta - best)).sum(dim=-1)


def loss(theta):
    return 0.5 * (A @ theta - y).square().mean()


origin = torch.zeros(6, dtype=f64)
torch.testing.assert_close(excess(origin), loss(origin) - loss(best))


def noisy_run(rate, workers, seed=0, steps=600):
    """Excess loss along an asynchronous run with batches of 10."""
    rng = torch.Generator().manual_seed(seed)

    def grad(theta):
        i = torch.randint(len(A), (10,), generator=rng)
        return A[i].T @ (A[i] @ theta - y[i]) / 10
    return excess(take_turns(grad, origin, rate, workers, steps))

# %%
highest = limit(8) / largest  # for nine workers, without noise
assert abs(radius(9 - 1, highest * largest) - 1) < 1e-9
paths = {(share, m): noisy_run(share * highest, m)
         for share in (0.1, 1.5) for m in (1, 3, 9)}
ends = {key: path[-100:].mean().item() for key, path in paths.items()}
start = excess(origin).item()
assert ends[1.5, 9] > 100 * start > 1000 * ends[1.5, 3]
assert all(abs(ends[0.1, m] / ends[0.1, 1] - 1) < 0.1 for m in (3, 9))
assert ends[0.1, 1] < 0.02 * start
rng, theta, first = torch.Generator().manual_seed(0), origin, origin
for t in range(10):  # nine gradients at the origin, the tenth at theta_1
    i = torch.randint(len(A), (10,), generator=rng)
    seen = origin if t < 9 else first
    theta = theta - 0.1 * highest * A[i].T @ (A[i] @ seen - y[i]) / 10
    first = theta if t == 0 else first
torch.testing.assert_close(paths[0.1, 9][10], excess(theta))

# %% tags=["hide-input"]
fig, (left, mid, right) = plt.subplots(1, 3, figsize=(10, 3),
                                       layout="constrained")
delays, a = range(11), torch.linspace(0.04, 2.2, 55)
rho = torch.tensor([[radius(d, x) for x in a.tolist()] for d in delays])
image = left.pcolormesh(a, list(delays), rho.clamp(max=1.3), cmap="cividis",
                        vmin=0.5, vmax=1.3, shading="nearest",
                        rasterized=True)
fig.colorbar(image, ax=left, label="spectral radius")
left.plot([limit(d) for d in delays], delays, "wo-", ms=4, lw=1)
left.set(xlabel=r"$\eta\lambda$", ylabel=r"delay $\tau$")
for ax, share in ((mid, 0.1), (right, 1.5)):
    for style, m in zip(("-", "--", ":"), (1, 3, 9)):
        ax.plot(paths[share, m], style, lw=1.2,
                label=f"{m} worker{'s' * (m > 1)}")
    ax.set(yscale="log", ylim=(3e-4, 1e2), xlabel="update",
           title=f"{share:g} of the limit for 9", ylabel="excess loss")
    ax.title.set_fontsize(9)
left.set_title("one curvature, no noise", fontsize=9)
mid.legend(fontsize=8)
d2l.describe(fig, """Left, a map of the spectral radius over rate and delay; a
    line of dots from 2 at delay 0 to 0.15 at delay 10 separates stable from
    unstable. Middle, three runs with 1, 3 and 9 workers fall together.
    Right, at a larger rate 1 and 3 workers reach a noise floor and 9
    diverge.""")

# %% [markdown]
# **Figure 13.7.4.** Left: the largest modulus of a root; white dots mark the limit (13.7.7).
# Middle and right: asynchronous SGD on the airfoil data, at two rates, in units of the limit (13.7.7) for nine workers and the largest curvature.
# At a tenth of it the three runs fall together: in the mean a step goes less than a fiftieth of the way along any axis, so eight steps change little.
# At one and a half times the limit nine workers diverge, and three do not.
#
# A low noise floor asks for small rates anyway.
# For quadratics Arjevani, Shamir and Srebro (2020) prove that without noise a delay can cost as much as using only one gradient in $\tau$, and that noise can make its effect negligible.
#
# The limit is for a *fixed* delay.
# A bound on the delay says less: if delays may vary between 0 and $\tau$, training can diverge below the limit for $\tau$.

# %%
def periodic_radius(delays, a):
    """Growth per step when the delays repeat."""
    product = torch.eye(max(delays) + 1, dtype=f64)
    for delay in delays:
        step = torch.diag(torch.ones(max(delays), dtype=f64), -1)
        step[0, 0] = 1
        step[0, delay] -= a
        product = step @ product
    modulus = torch.linalg.eigvals(product).abs().max().item()
    return modulus ** (1 / len(delays))


assert abs(periodic_radius([2], 0.6) - radius(2, 0.6)) < 1e-12
x = [1.0, 1.0, 1.0]
for t in range(4000):  # the recursion itself
    x.append(x[-1] - 0.6 * x[-1 - (0, 1, 2, 2)[t % 4]])
growth = max(map(abs, x[-40:])) / max(map(abs, x[-2040:-2000]))
assert abs(growth ** (1 / 2000) - periodic_radius([0, 1, 2, 2], 0.6)) < 1e-4
assert periodic_radius([2], 0.6) < 1 < periodic_radius([0, 1, 2, 2], 0.6)
for a in (0.56, 0.6):
    print(f"{a}: always 2 gives {periodic_radius([2], a):.4f}, "
          f"0, 1, 2, 2 gives {periodic_radius([0, 1, 2, 2], a):.4f}")

# %% [markdown]
# At $\eta\lambda=0.6$, gradients that are always two updates old converge, and delays $0,1,2,2,0,1,2,2,\dots$, none of them longer, diverge.

# %% [markdown]
# ## Sending less
#
# *Top-k compression* sends the $k$ entries of largest magnitude, with their places.
# *Error feedback* (Seide and others, 2014) keeps the rest, and adds it to the next gradient.

# %%
def topk_compress(g, k, error):
    """The k largest entries of g + error, and what remains of it."""
    total = g + error
    places = total.abs().topk(k).indices
    sent = torch.zeros_like(total)
    sent[places] = total[places]
    return sent, total - sent

# %% [markdown]
# The hard case is one in which workers disagree.
# Two workers minimize the mean of their losses, $f(\mathbf{x})=\frac12(x_1^2+0.5x_2^2+0.2x_3^2)$, from $(1,1,1)$, so $f=0.85$ at the start.
# Their gradients are $\nabla f$ plus $(\pm2,0,0)$.
# We send one entry of three, and compare three ways: forget the rest, error feedback, and EF21 (Richtárik, Sokolov and Fatkhullin, 2021), in which a worker compresses the *difference* between its gradient and what the server believes it to be.

# %%
curvatures = torch.tensor([1, 0.5, 0.2], dtype=f64)


def compressed(way, offset=2.0, rate=0.05, decay=True, steps=4000, k=1):
    """Where two workers with compressed gradients end, as f."""
    shift = torch.tensor([offset, 0, 0], dtype=f64)
    x = torch.ones(3, dtype=f64)
    kept = [torch.zeros_like(x), torch.zeros_like(x)]
    for t in range(steps):
        update = torch.zeros_like(x)
        for w, sign in enumerate((1, -1)):
            g = curvatures * x + sign * shift
            if way == "EF21":  # kept: what the server believes
                kept[w] = kept[w] + topk_compress(g, k, -kept[w])[0]
                sent = kept[w]
            else:  # kept: what was not sent
                sent, rest = topk_compress(g, k, kept[w])
                kept[w] = rest if way == "feedback" else 0 * rest
            update += sent / 2
        x = x - rate * (1 - t / steps if decay else 1) * update
    return 0.5 * (curvatures * x * x).sum().item()

# %%
# check 13.7-C6: feedback arrives, forgetting does not, and the conditions
settings = {"offset 2, falling rate": {}, "equal workers": {"offset": 0.0}}
settings |= {f"offset {offset}, constant {rate}": {
    "offset": offset, "rate": rate, "decay": False}
    for offset, rate in ((2, 0.05), (2, 0.1), (50, 0.1))}
end = {name: [compressed(way, **setting) for way in (
    "forget", "feedback", "EF21")] for name, setting in settings.items()}
for name, row in end.items():
    print(f"{name:26}", *(f"{f:8.1e}" if f > 1e-10 else "< 1e-10"
                          for f in row))
forget, feedback, ef21 = end["offset 2, falling rate"]
assert feedback < 1e-6 and ef21 < 1e-12
assert abs(forget - 0.35) < 1e-12  # (0.5 + 0.2) / 2: x2, x3 never moved
assert max(end["equal workers"]) < 1e-10
far = [end[f"offset {x}"][1] for x in ("2, constant 0.05",
                                       "2, constant 0.1", "50, constant 0.1")]
assert 1e-4 < far[0] < far[1] / 2 < 1e-2 and 0.9 < far[2] < 1
assert max(row[2] for row in end.values()) < 1e-12
assert compressed("forget", k=3, steps=400, decay=False) < 0.01

# %% [markdown]
# Without feedback each worker always sends its first entry, because the offset makes it the largest; in the mean the offsets cancel, and $x_2$ and $x_3$ never move.
# They keep their share $0.35$ of the loss.
# With equal workers forgetting converges too: what breaks it here is their disagreement.
# Error feedback converges here because the rate falls to 0: at a constant rate it stays at a distance, which grows with the rate and the offset, and with offset 50 it ends above where it started.
# EF21 arrives in all five settings.
# Both have a price, as each worker stores a second vector; and with any top-k compression different workers send different entries, so a sum has more entries the further it travels around a ring.
# PowerSGD (Vogels, Karimireddy and Jaggi, 2019) avoids that: its workers send low-rank factors of the gradient matrix, which all-reduce can add, and keep the rest by error feedback.

# %% [markdown]
# ## Synchronizing less often
#
# *Local SGD* lets each worker take $H$ steps alone, and then averages the parameters; in federated learning, where data stay with their owners, it is known as federated averaging (McMahan and others, 2017).
# One can also treat the averaged change as a gradient for an outer optimizer (Reddi and others, 2021); DiLoCo (Douillard and others, 2023) takes Nesterov's momentum for it:
#
# $$\boldsymbol\Delta=\mathbf{x}-\frac1m\sum_{k=1}^m\mathbf{x}_k,\qquad\mathbf{v}\leftarrow\beta\mathbf{v}+\boldsymbol\Delta,\qquad\mathbf{x}\leftarrow\mathbf{x}-\mu(\boldsymbol\Delta+\beta\mathbf{v}), \tag{13.7.8}$$
#
# where $\mathbf{x}$ are the common parameters, $\mathbf{x}_k$ those of worker $k$ after $H$ steps from $\mathbf{x}$, $\mathbf{v}$ the outer velocity and $\mu$ the outer rate: Nesterov's momentum of [Section 12.6](../12-optimization/06-momentum.ipynb).
# With $\mu=1$ and $\beta=0$ it is local SGD.
# The inner optimizer of the paper is AdamW, with $H=500$; ours is SGD.

# %%
def diloco(H, rates, outer=1.0, beta=0.0, shards=None, seed=0, runs=runs,
           steps=steps):
    """Excess losses (rates, runs) of four workers, and the number of rounds.

    Batches of 10; `shards` (4, 375) are the rows of the workers, dealt at
    random in each run unless given.
    """
    rng = torch.Generator().manual_seed(seed)
    dealt = torch.rand(runs, len(A), generator=rng).argsort(dim=1)
    shards = dealt.reshape(runs, 4, -1) if shards is None else shards.expand(
        runs, -1, -1)
    rate = torch.tensor(rates, dtype=f64)[:, None, None, None]
    x, rounds = torch.zeros(len(rates), runs, 1, 6, dtype=f64), 0
    v, local = torch.zeros_like(x), x.repeat(1, 1, 4, 1)
    for t in range(1, steps + 1):
        i = shards.gather(2, torch.randint(shards.shape[2], (runs, 4, 10),
                                           generator=rng))
        error = (A[i] @ local[..., None])[..., 0] - y[i]
        local = local - rate * (error[..., None, :] @ A[i])[..., 0, :] / 10
        if t % H == 0:
            delta = x - local.mean(dim=2, keepdim=True)
            v = beta * v + delta
            x = x - outer * (delta + beta * v)
            local, rounds = x.repeat(1, 1, 4, 1), rounds + 1
    return excess(x[:, :, 0]), rounds

# %%
# check 13.7-C8: H = 1 is data-parallel SGD, and rounds are 1/H of it
by_target = y.argsort(stable=True).reshape(4, -1)
rng = torch.Generator().manual_seed(5)
torch.rand(1, len(A), generator=rng)
theta = torch.zeros(6, dtype=f64)
for _ in range(50):
    i = by_target.gather(1, torch.randint(375, (1, 4, 10), generator=rng)[0])
    i = i.flatten()  # one batch of 40
    theta = theta - 0.03 * A[i].T @ (A[i] @ theta - y[i]) / 40
ends = {H: diloco(H, [0.03], shards=by_target, seed=5, runs=1, steps=50)
        for H in (1, 5, 25)}
assert abs(ends[1][0].item() - excess(theta)) < 1e-12
assert [rounds for _, rounds in ends.values()] == [50, 10, 2]
assert abs(ends[5][0].item() - excess(theta)) > 1e-6

rng = torch.Generator().manual_seed(5)
torch.rand(1, len(A), generator=rng)
common = torch.zeros(6, dtype=f64, requires_grad=True)
outer = torch.optim.SGD([common], lr=0.7, momentum=0.9, nesterov=True)
for _ in range(10):
    alone = common.detach().repeat(4, 1)
    for _ in range(5):
        i = by_target.gather(1, torch.randint(375, (1, 4, 10),
                                              generator=rng)[0])
        for x, rows in zip(alone, i, strict=True):
            x -= 0.03 * A[rows].T @ (A[rows] @ x - y[rows]) / 10
    common.grad = common.detach() - alone.mean(dim=0)
    outer.step()
nesterov = diloco(5, [0.03], 0.7, 0.9, by_target, seed=5, runs=1, steps=50)
assert abs(nesterov[0].item() - excess(common.detach())) < 1e-12

# %% [markdown]
# Now equal samples for $H=1,5,25$, tuned as in [Section 12.7](../12-optimization/07-adagrad.ipynb): six inner rates, the best one on a first set of runs, judged on a second.
# We compare plain averaging with the outer momentum of the paper, $\mu=0.7$ and $\beta=0.9$.
# Momentum also makes the outer steps longer, up to $\frac\mu{1-\beta}=7$ times if all $\boldsymbol\Delta$ are equal, so we add a control that only lengthens them, though by less: $\mu=3$ and $\beta=0$.
# The rows are dealt out at random, or sorted by the target, so each worker sees a different range of sound levels.

# %%
rates = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
ways = {"averaging": {}, "momentum": {"outer": 0.7, "beta": 0.9},
        "outer rate 3": {"outer": 3.0}}
dealt = {"random": None, "sorted": by_target}
tried, judged, chosen = {}, {}, {}
for way, setting in ways.items():
    for shards, rows in dealt.items():
        for H in (1, 5, 25):
            key = way, shards, H
            losses, rounds = diloco(H, rates, shards=rows, **setting)
            tried[key] = losses.mean(dim=1).nan_to_num(math.inf)
            chosen[key] = tried[key].argmin().item()
            rate = rates[chosen[key]]
            judged[key] = diloco(H, [rate], shards=rows, seed=1,
                                 **setting)[0][0]
            print(f"{way}, {shards}: {rounds:3} rounds, rate {rate}, "
                  f"mean excess {judged[key].mean():.1e}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained",
                         sharey=True)
for ax, shards in zip(axes, dealt, strict=True):
    for k, (style, way) in enumerate(zip(("o-", "s--", "^-."), ways)):
        losses = torch.stack([judged[way, shards, H] for H in (1, 5, 25)])
        ax.errorbar([H * 1.06 ** (k - 1) for H in (1, 5, 25)],
                    losses.mean(dim=1), 2 * losses.std(dim=1)
                    / losses.shape[1] ** 0.5, fmt=style, capsize=3, ms=5,
                    label=way)
    ax.set(xscale="log", yscale="log", title=f"{shards} shards",
           xlabel="steps between rounds $H$")
    ax.set_xticks([1, 5, 25], labels=["1", "5", "25"])
    ax.minorticks_off()
axes[0].set_ylabel("excess loss")
axes[1].legend(fontsize=8)
d2l.describe(fig, """Excess loss against the number of steps between rounds.
    Left, random shards: averaging is flat, outer rate 3 nearly so, momentum
    rises threefold at 25. Right, sorted shards: at 25 averaging rises
    tenfold, momentum half as high, outer rate 3 half of that.""")

# %% [markdown]
# **Figure 13.7.5.** Mean of 20 runs with two standard errors, each point at its best of six inner rates.

# %%
mean = {key: losses.mean().item() for key, losses in judged.items()}
if steps >= 300 and runs >= 20 and real:
    assert all(0 < j < 5 for j in chosen.values())  # no end of the grid
    base = {shards: mean["averaging", shards, 25] for shards in dealt}
    assert 0.8 < base["random"] / mean["averaging", "random", 1] < 1.25
    assert base["sorted"] > 5 * mean["averaging", "sorted", 1]
    assert mean["momentum", "random", 25] > 2 * base["random"]
    assert mean["outer rate 3", "random", 25] < 1.5 * base["random"]
    for way in ("momentum", "outer rate 3"):
        assert mean[way, "sorted", 25] < 0.7 * base["sorted"]
        small = chosen[way, "sorted", 25]
        assert small < chosen["averaging", "sorted", 25]
        assert tried["averaging", "sorted", 25][small] > base["sorted"]
    assert mean["outer rate 3", "sorted", 25] < 0.7 * mean[
        "momentum", "sorted", 25]

# %% [markdown]
# With random shards, averaging after 25 steps is as good as after every step: on this problem 24 of 25 all-reduces were unnecessary.
# With sorted shards it is several times worse: each worker walks towards the minimum of its own rows, and as their curvatures differ too, the average is biased (Exercise 5).
# Momentum helps there, but the control helps more.
# Both choose a smaller inner rate, at which workers drift apart less, and make up for it by longer outer steps; the smaller rate alone is too slow.
# With random shards momentum does harm.
# But 12 rounds are few for a memory of 0.9, so we repeat $H=25$ with five times as many steps, hence 60 rounds:

# %%
longer = {}
for way, setting in ways.items():
    for shards, rows in dealt.items():
        grid = [rate * 0.3 for rate in rates]  # more steps, smaller rates
        losses, rounds = diloco(25, grid, shards=rows, steps=5 * steps,
                                **setting)
        j = losses.mean(dim=1).nan_to_num(math.inf).argmin().item()
        longer[way, shards] = diloco(
            25, [grid[j]], shards=rows, seed=1, steps=5 * steps,
            **setting)[0].mean().item()
        print(f"{way}, {shards}: {rounds} rounds, rate {grid[j]:.4f}, "
              f"mean excess {longer[way, shards]:.1e}")
        assert 0 < j < 5 or steps < 300 or not real
if steps >= 300 and runs >= 20 and real:
    for way in ("momentum", "outer rate 3"):
        assert 0.7 < longer[way, "random"] / longer[
            "averaging", "random"] < 1.4
        assert longer[way, "sorted"] < 0.5 * longer["averaging", "sorted"]

# %% [markdown]
# With 60 rounds, all three are alike with random shards, and with sorted ones the two with longer outer steps are more than twice as good as averaging.
# So which of the two is better depends on the number of rounds: with sorted shards the control was ahead after 12, and momentum is after 60.
#
# For smooth and strongly convex losses with bounded gradients, and workers that draw from the same data, Stich (2019) proves that local SGD keeps the rate of synchronous SGD with up to $\sqrt T$ times fewer rounds in $T$ steps.
#
# Language models are another matter, since their loss is not convex.
# There Douillard and others report that eight workers with $H=500$ do as well as synchronous training, and that differing shards do little harm; Charles and others (2025) that tuned DiLoCo scales better with the size of the model than data parallelism.

# %% [markdown]
# ## Where things stand
#
# Training of dense networks uses all-reduce and its two halves, which sharding calls separately ([Section 13.6](06-ddp-fsdp.ipynb)), through libraries such as NCCL; DiLoCo and its relatives connect sites whose links are slow.
# Parameter servers remain where a step touches few of very many parameters, as with the embedding tables of recommenders (Liu and others, 2022): workers pull and push only the rows that they need.
# Asynchronous workers also go on when one of them is lost, while a ring is broken by one lost node.
# Synchronous jobs therefore write checkpoints and start again, if need be with fewer nodes; `torchrun` can do so with `--nnodes=MIN:MAX --max-restarts=R` ([Section 13.6](06-ddp-fsdp.ipynb) names a trap), and the script must load its last checkpoint.

# %% [markdown]
# ## Summary
#
# - Latency aside, what synchronizing costs is set by the busiest port: in our plans, adding everything on one of four GPUs takes four times as long as adding a quarter on each.
# - Ring all-reduce sends $\frac{2(n-1)}nS$ per node, the least possible if only nodes add, in $2(n-1)$ rounds; for small messages, or beyond about $\frac S{\alpha B}$ workers, the rounds dominate, and recursive halving saves most of them if all nodes are connected at full speed.
# - With as many servers as workers, a parameter server's transfer time does not grow with their number, though its latency does; in floating point its sums depend on the order of arrival.
# - A fixed delay $\tau$ is stable for $\eta\lambda<2\sin\frac\pi{2(2\tau+1)}$ without noise and momentum; varying delays of at most $\tau$ can be worse.
# - Top-k compression can fail when workers disagree; in our example error feedback repaired it with a rate that falls to 0, EF21 with a constant one too.
# - On a convex problem, averaging every 25 steps cost nothing with random shards and, in 12 rounds, a factor of more than 5 with sorted ones; a smaller inner rate with longer outer steps, with momentum or without, helped there, and after 60 rounds the excess loss was less than half that of averaging.

# %% [markdown]
# ## Exercises
#
# ### Exercise 13.7-1
#
# Links usually work in both directions at once.
# Write a ring that sends half of the data clockwise and half counter-clockwise.
# How much time does it take, without latency, if each node has a port for each neighbour?

# %% [markdown]
# #### Solution 13.7-1

# %% [markdown]
# We cut the vector into $2n$ chunks: the first $n$ go around one way, the others the other way, by the same plan with the nodes numbered backwards.
# In each round every directed link carries one chunk, half as large as before: half the time.

# %%
def both_ways(n):
    """The plan of two rings at once, on 2n chunks."""
    return [[forth + [(-i % n, -j % n, [c + n for c in chunks])
                      for i, j, chunks in forth] for forth in rounds]
            for rounds in ring(n)]


def link_time(plan, num_chunks):
    """Seconds if every directed link has a port of 1 byte/s, for 1 byte."""
    total = 0.0
    for messages in plan[0] + plan[1]:
        load = Counter()
        for i, j, chunks in messages:
            load[i, j] += len(chunks)
        total += max(load.values()) / num_chunks
    return total


for n in (3, 4, 8):
    data = torch.cat((gradients(n), gradients(n, seed=1)), dim=1)
    result, sent = carry_out(both_ways(n), data)
    assert torch.equal(result, data.sum(dim=0).expand_as(data))
    assert abs(link_time(both_ways(n), 2 * n) - (n - 1) / n) < 1e-12
    assert abs(link_time(ring(n), n) - 2 * (n - 1) / n) < 1e-12

# %% [markdown]
# ### Exercise 13.7-2
#
# Three workers take turns on the airfoil data, with the gradient of all rows.
# Predict the largest stable rate, and check it by runs just below and just above.

# %% [markdown]
# #### Solution 13.7-2

# %% [markdown]
# The delay is 2, so the limit is $2\sin\frac\pi{10}\approx0.618$ divided by the largest curvature, about 2.098: 0.2945.
# The other five curvatures are smaller, so they would allow larger rates.

# %%
def full_gradient(theta):
    return A.T @ (A @ theta - y) / len(A)


top = limit(2) / largest
for factor in (0.98, 1.02):
    path = excess(take_turns(full_gradient, torch.zeros(6, dtype=f64),
                             factor * top, 3, 1000))
    print(f"rate {factor * top:.4f}: excess loss {path[-1]:.1e}")
    assert (path[-20:].max() < 1e-4 * path[0]) == (factor < 1)
    assert factor < 1 or path[-20:].max() > 10 * path[0]
if real:
    assert abs(top - 0.2945) < 5e-5 and abs(largest - 2.098) < 1e-3

# %% [markdown]
# ### Exercise 13.7-3
#
# Let each server also keep a copy of the part of the server before it.
# Lose one server and restore its part, in the middle of training.
# What does this cost, and when does it fail?

# %% [markdown]
# #### Solution 13.7-3

# %% [markdown]
# The parameters are the same to the bit as without the loss.
# Each push travels twice and is stored twice, and two neighbours must not be lost together.

# %%
class ReplicatedStore(KVStore):
    """Server s + 1 keeps a copy of what server s holds."""

    def __init__(self, num_servers):
        super().__init__(num_servers)
        self.copies = KVStore(num_servers)  # copies.servers[s]: of server s

    def push(self, key, value):
        super().push(key, value)
        self.copies.push(key, value)

    def lose(self, s):
        """Server s is gone, with the copy of its predecessor."""
        self.servers[s] = {}
        self.copies.servers[s - 1] = {}

    def restore(self, s):
        self.servers[s] = dict(self.copies.servers[s])
        self.copies.servers[s - 1] = dict(self.servers[s - 1])

# %%
rng = torch.Generator().manual_seed(3)
store, plain = ReplicatedStore(4), KVStore(4)
for step in range(20):
    g = torch.randn(10, 7, generator=rng)
    for target in (store, plain):
        target.push("W", g)
    if step == 11:
        store.lose(2)
        try:
            store.pull("W")
            raise AssertionError("nothing was lost")
        except KeyError:
            store.restore(2)
assert torch.equal(store.pull("W"), plain.pull("W"))
assert sum(store.received) + sum(store.copies.received) == 2 * sum(
    plain.received)
store.lose(1)  # the copy of 1 was lost with 2, and restored with it
store.restore(1)
assert torch.equal(store.pull("W"), plain.pull("W"))
store.lose(1)
store.lose(2)  # with the copy of 1
for s in (1, 2):
    try:
        store.restore(s)
        store.pull("W")
        raise AssertionError("two neighbours were lost, and nothing")
    except KeyError:
        pass

# %% [markdown]
# ### Exercise 13.7-4
#
# Two machines hold four GPUs each, and the link between the machines is slow.
# Write a *hierarchical* all-reduce: reduce-scatter within each machine, all-reduce of each quarter between the machines, all-gather within each machine.
# How much crosses the slow link in each direction, compared with a ring through all eight?

# %% [markdown]
# #### Solution 13.7-4

# %% [markdown]
# The flat ring sends $\frac{2\cdot7}8S=1.75S$ over the slow link in each direction, as over any other.
# In the hierarchy GPU $i$ of one machine and GPU $i$ of the other exchange a quarter in the way of a ring of two, which sends as much as it holds: $4\cdot\frac S4=S$.

# %%
def hierarchical():
    """The plan for nodes 0-3 and 4-7, on 8 chunks, two to a quarter."""
    def inside(rounds):
        return [[(i + base, j + base, [2 * c[0], 2 * c[0] + 1])
                 for base in (0, 4) for i, j, c in messages]
                for messages in rounds]

    first, last = map(inside, ring(4))
    there, back = [], []
    for i in range(4):
        q = (i + 1) % 4  # the quarter that node i has completed
        there += [(i, i + 4, [2 * q + 1]), (i + 4, i, [2 * q])]
        back += [(i, i + 4, [2 * q]), (i + 4, i, [2 * q + 1])]
    return [*first, there], [back, *last]


def crossing(plan, num_chunks):
    """The part of S from machine 0 to 1, and from 1 to 0."""
    load = Counter()
    for messages in plan[0] + plan[1]:
        for i, j, chunks in messages:
            if i // 4 != j // 4:
                load[i // 4] += len(chunks) / num_chunks
    return load[0], load[1]


data = gradients(8)
result, sent = carry_out(hierarchical(), data)
assert torch.equal(result, data.sum(dim=0).expand_as(data))
assert crossing(ring(8), 8) == (1.75, 1.75)
assert crossing(hierarchical(), 8) == (1, 1)
assert len(set(sent)) == 1 and one_at_a_time(hierarchical())

# %% [markdown]
# ### Exercise 13.7-5
#
# Two workers minimize $\frac{\lambda_1}2(x-1)^2$ and $\frac{\lambda_2}2(x+1)^2$ by gradient descent, and average every $H$ steps.
# Where do they end, for $H=1$, for large $H$, and for equal curvatures?

# %% [markdown]
# #### Solution 13.7-5

# %% [markdown]
# After $H$ steps from $x$, worker $k$ stands at $c_k+r_k(x-c_k)$ with $r_k=(1-\eta\lambda_k)^H$.
# The average equals $x$ at $x=\frac{\sum_k(1-r_k)c_k}{\sum_k(1-r_k)}$.
# For $H=1$ this is $\frac{\sum\lambda_kc_k}{\sum\lambda_k}$, the minimum of the mean loss, whatever the rate; for large $H$ it tends to the mean of the two minima, here 0.
# With equal curvatures both are the same.
# So averaging less often has a bias where the workers' curvatures *and* minima differ, and a smaller $\eta H$ makes it smaller.

# %%
def local_gd(H, lams, eta=0.05):
    lam, c = torch.tensor(lams, dtype=f64), torch.tensor([1, -1], dtype=f64)
    x = torch.tensor(0.3, dtype=f64)
    for _ in range(4000 // H + 20):
        local = x.expand(2)
        for _ in range(H):
            local = local - eta * lam * (local - c)
        x = local.mean()
    r = (1 - eta * lam) ** H
    torch.testing.assert_close(x, ((1 - r) * c).sum() / (1 - r).sum())
    return x.item()


ends = {H: local_gd(H, [1.0, 3.0]) for H in (1, 5, 25, 100)}
print({H: round(x, 4) for H, x in ends.items()})
assert abs(ends[1] + 0.5) < 1e-9  # (1 - 3) / (1 + 3)
assert -0.5 < ends[5] < ends[25] < ends[100] < 0 and ends[100] > -0.01
assert abs(local_gd(25, [2.0, 2.0])) < 1e-9
assert 0 < local_gd(5, [1.0, 3.0], eta=0.005) + 0.5 < 0.15 * (ends[5] + 0.5)

# %% [markdown]
# ## Sources
#
# - P. Patarasuk and X. Yuan, *Bandwidth optimal all-reduce algorithms for clusters of workstations*, Journal of Parallel and Distributed Computing 69 (2009), [doi:10.1016/j.jpdc.2008.09.002](https://doi.org/10.1016/j.jpdc.2008.09.002): the lower bound, and rings that attain it.
# - R. L. Graham et al., *Scalable hierarchical aggregation protocol (SHArP): a hardware architecture for efficient data reduction*, COMHPC 2016, [doi:10.1109/COMHPC.2016.006](https://doi.org/10.1109/COMHPC.2016.006): switches that add.
# - R. Rabenseifner, *Optimization of collective reduction operations*, ICCS 2004, [doi:10.1007/978-3-540-24685-5_1](https://doi.org/10.1007/978-3-540-24685-5_1): recursive halving and doubling.
# - P. Sanders, J. Speck and J. L. Träff, *Two-tree algorithms for full bandwidth broadcast, reduction and scan*, Parallel Computing 35 (2009), [doi:10.1016/j.parco.2009.09.001](https://doi.org/10.1016/j.parco.2009.09.001): pairs of pipelined trees.
# - Z. Hu et al., *Demystifying NCCL: an in-depth analysis of GPU communication protocols and algorithms* (2025), [arXiv:2507.04786](https://arxiv.org/abs/2507.04786).
# - M. Li et al., *Scaling distributed machine learning with the parameter server*, OSDI 2014, [usenix.org](https://www.usenix.org/conference/osdi14/technical-sessions/presentation/li_mu).
# - Q. Ho et al., *More effective distributed ML via a stale synchronous parallel parameter server*, NeurIPS 2013, [proceedings](https://proceedings.neurips.cc/paper/2013/hash/b7bb35b9c6ca2aee2df08cf09d7016c2-Abstract.html): bounded staleness.
# - S. A. Levin and R. M. May, *A note on difference-delay equations*, Theoretical Population Biology 9 (1976), [doi:10.1016/0040-5809(76)90043-5](https://doi.org/10.1016/0040-5809%2876%2990043-5): the limit (13.7.7).
# - Y. Arjevani, O. Shamir and N. Srebro, *A tight convergence analysis for stochastic gradient descent with delayed updates*, ALT 2020, [arXiv:1806.10188](https://arxiv.org/abs/1806.10188).
# - F. Seide et al., *1-bit stochastic gradient descent and its application to data-parallel distributed training of speech DNNs*, Interspeech 2014, [doi:10.21437/Interspeech.2014-274](https://doi.org/10.21437/Interspeech.2014-274): error feedback.
# - P. Richtárik, I. Sokolov and I. Fatkhullin, *EF21: a new, simpler, theoretically better, and practically faster error feedback*, NeurIPS 2021, [arXiv:2106.05203](https://arxiv.org/abs/2106.05203).
# - T. Vogels, S. P. Karimireddy and M. Jaggi, *PowerSGD: practical low-rank gradient compression for distributed optimization*, NeurIPS 2019, [arXiv:1905.13727](https://arxiv.org/abs/1905.13727).
# - H. B. McMahan et al., *Communication-efficient learning of deep networks from decentralized data*, AISTATS 2017, [arXiv:1602.05629](https://arxiv.org/abs/1602.05629): federated averaging.
# - S. J. Reddi et al., *Adaptive federated optimization*, ICLR 2021, [arXiv:2003.00295](https://arxiv.org/abs/2003.00295): an outer optimizer for averaged changes.
# - S. U. Stich, *Local SGD converges fast and communicates little*, ICLR 2019, [arXiv:1805.09767](https://arxiv.org/abs/1805.09767): smooth, strongly convex losses on common data.
# - A. Douillard et al., *DiLoCo: distributed low-communication training of language models* (2023), [arXiv:2311.08105](https://arxiv.org/abs/2311.08105).
# - Z. Charles et al., *Communication-efficient language model training scales reliably and robustly: scaling laws for DiLoCo*, NeurIPS 2025, [arXiv:2503.09799](https://arxiv.org/abs/2503.09799).
# - Z. Liu et al., *Monolith: real time recommendation system with collisionless embedding table* (2022), [arXiv:2209.07663](https://arxiv.org/abs/2209.07663).
