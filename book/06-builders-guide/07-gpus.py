# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu:
#         sizes: [256, 512, 1024, 2048, 4096, 8192]
#       smoke:
#         sizes: [32, 64, 128]
#     rehearsal: {sizes: 0.125}
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
# # 6.7 GPUs
#
# Most deep networks are trained on GPUs or similar devices, and a program that uses one carelessly leaves it idle much of the time, or does not run at all.
# Where does a tensor live, what happens when two of them live in different places, and why can a single `print` hold up the training?
# You do not need a GPU for this section: most of it can be seen on any machine.

# %% [markdown]
# **You will**
#
# - place tensors and models on a device, and write code that runs with no GPU, one or several;
# - read the error that follows when they are apart, and know why PyTorch does not mend it silently;
# - say which operations wait for the device, and keep them out of the inner loop;
# - count what a training step holds in memory, and choose a remedy when it is too much;
# - measure times on a device that works behind your back.
#
# **Cost**: a few seconds on a CPU; nothing to download. On a machine with a GPU more cells run.

# %%
import functools
import inspect
import io
import time
from unittest import mock

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    LinearRegression, SyntheticRegressionData, Trainer)

d2l.use_style()

# %% tags=["parameters"]
sizes = [8, 16, 32, 64, 128, 256, 512, 1024]  # edges of matrices

# %% [markdown]
# ## Computing devices
#
# A *device* in PyTorch is a place where tensors lie and are computed with.
# `torch.device('cpu')` stands for all cores of the processor and the main memory.
# `torch.device('cuda:0')`, `torch.device('cuda:1')` and so on each stand for one graphics card with its own memory; NVIDIA calls its platform CUDA, and the command `nvidia-smi` in a terminal lists the cards.
# The environment variable `CUDA_VISIBLE_DEVICES`, set before the program starts, hides all cards but those that it names, and PyTorch numbers these from 0.
# AMD's cards go by the name `cuda` too; elsewhere the names differ, `mps` on a Mac and `xpu` for Intel, and `torch.accelerator` asks for whichever is there.
#
# `torch.device('cuda')` without a number means the *current* CUDA device, usually number 0.
# As Python objects the two are different, a trap for comparisons:

# %%
# check 6.7-C2: cuda is not equal to cuda:0, and has no number
assert torch.device("cuda") != torch.device("cuda:0")
assert torch.device("cuda").index is None
assert torch.device("cuda:0").index == 0
print(torch.device("cpu"), torch.device("cuda"), torch.device("cuda:1"))

# %% [markdown]
# Making these objects needs no GPU; they are only names.
# Five short functions answer the questions that programs ask: the processor, a card, how many there are, a card if it exists, and all of them.

# %% tags=["export"]
def cpu():
    """The processor as a device."""
    return torch.device("cpu")


def num_gpus():
    """Number of accelerators that this PyTorch can use."""
    if not torch.accelerator.is_available():
        return 0
    return torch.accelerator.device_count()


def gpu(i=0):
    """Accelerator number i as a device, whether it exists or not."""
    kind = (torch.accelerator.current_accelerator().type
            if num_gpus() else "cuda")
    return torch.device(f"{kind}:{i}")


def try_gpu(i=0):
    """Accelerator number i if it exists, else the processor."""
    return gpu(i) if num_gpus() > i else cpu()


def try_all_gpus():
    """All accelerators, or a list with the processor: never empty."""
    return [gpu(i) for i in range(num_gpus())] or [cpu()]

# %% [markdown]
# The last line of `try_all_gpus` deserves attention.
# A program that divides its work among the devices of this list must find at least one.
# A well-known version of this function promises the processor in its docstring and returns an empty list on a machine without GPU; a loop over it then does nothing, without an error.
#
# How the functions behave with two cards can be tested without any: at the end of the check we let PyTorch claim for a moment that it sees two cards, made by Intel.

# %%
# check 6.7-C1: a device is found everywhere, and the list is never empty
assert isinstance(try_gpu(10), torch.device)
assert try_gpu(10) == cpu() or num_gpus() > 10
devices = try_all_gpus()
assert len(devices) == max(num_gpus(), 1)
torch.zeros(1, device=try_gpu())  # usable
assert cpu().type == "cpu" and gpu(3).type != "cpu" and gpu(3).index == 3
print(devices)

two = [torch.device("xpu:0"), torch.device("xpu:1")]
with mock.patch.multiple(
        torch.accelerator, is_available=lambda: True,
        device_count=lambda: 2, current_accelerator=lambda: two[0]):
    assert num_gpus() == 2 and try_all_gpus() == two
    assert try_gpu(1) == two[1] and try_gpu(2) == cpu()

# %% [markdown]
# In the rest of the book `d2l.try_device()` finds a single device.
# It returns it without a number (`cuda`, not `cuda:0`), unless the environment variable `D2L_DEVICE`, which it obeys, names one, and says once what it found.
#
# ## Tensors and devices
#
# A tensor is made on the processor unless you say otherwise, with `device=...` or, for a whole model, inside `with torch.device(...):`; its attribute `device` tells where it is.
# It takes up memory on this device only.
#
# All operands of an operation must be on *one* device.
# Suppose that you have two cards, $\mathsf{X}$ on the first and $\mathsf{Y}$ on the second.
# Before they can be added, one of them has to be copied:
#
# ![Two boxes, device 0 and device 1. X lies on device 0, Y on device 1. A thick arrow copies X to device 1, where it becomes Z; there Y + Z is computed.](img/gpu-copy.svg)
#
# **Figure 6.7.1.** Copy first, then compute.
# The copy is a line of the program that can be seen, and not something that happens behind it.
#
# We do not need two cards to see the error.
# The device `meta` exists everywhere; its tensors have a shape and a type and no data at all.

# %%
# check 6.7-C4: tensors on different devices cannot be added
here, there = torch.ones(2, 3), torch.ones(2, 3, device="meta")
try:
    here + there
    message = ""
except RuntimeError as error:
    message = str(error)
print(message[:78])
assert "meta" in message and "cpu" in message

# %% [markdown]
# Between two real devices the message has other words: `Expected all tensors to be on the same device`.
# Why does PyTorch not copy by itself?
# Because a copy costs time, and a hidden one would cost it without any sign.
# Data from outside reach a card through a connection with much less bandwidth than the memory on the card has; NVIDIA's guide to good practice therefore advises keeping such transfers to a minimum.
# An error makes you decide where the copy belongs, preferably not in the inner loop.
# (There are exceptions: a tensor without axes, a plain number, may lie on the processor, and so may the indices in `X[indices]`; and `Y.copy_(X)` and `Y[:] = X` do copy from device to device.)

# %% [markdown]
# ### Copying
#
# `X.to(device)` returns a tensor on the device.
# If `X` is there already, it returns `X` itself and copies nothing, so it does no harm to write it once too often.
# `copy=True` asks for a copy in any case.
# For a model, `net.to(device)` moves the parameters *in place* between the processor and a card, and returns the model; on `meta` they are replaced by new ones.
# (The check changes their type instead, which needs no card and goes the same way.)

# %%
# check 6.7-C3: to() returns the same tensor if nothing has to move
x = torch.ones(3)
net = nn.Linear(3, 1)
assert x.to("cpu") is x
assert x.to("cpu", copy=True) is not x
weight = net.weight
assert net.to(torch.float64) is net and net.weight is weight
assert weight.dtype == torch.float64

# %%
# check 6.7-C9: on an accelerator, copies come back with the same numbers
if num_gpus() > 0:
    device = try_gpu()
    Z = torch.arange(6.0).to(device)
    assert Z.to(device) is Z
    assert torch.equal((Z + 1).cpu(), torch.arange(6.0) + 1)
else:
    print("skipped: this machine has no accelerator")

# %% [markdown]
# Each copy has a fixed cost besides that of its bytes, so the same guide advises joining many small copies into one large one.
# From ordinary memory the driver has to copy twice, first into a region that the operating system may not move, called *pinned* memory.
# Data that are pinned already (`X.pin_memory()`) can be sent with `non_blocking=True`, while the processor goes on.
# Until the copy is done the source must not be overwritten; in the other direction, wait for the card before you read the numbers.

# %% [markdown]
# ## Models on a device
#
# A model computes where its parameters lie; its inputs must be there too, and so will be its outputs.
# The usual lines of every program are these, and they run on any machine:

# %%
device = try_gpu()
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)).to(device)
X = torch.ones(5, 8, device=device)
y_hat = net(X)
assert y_hat.device.type == device.type
assert all(p.device == y_hat.device for p in net.parameters())

# %% [markdown]
# Make the optimizer *after* moving the model.
# Today's PyTorch moves parameters in place, so the other order works as well, but the state of an optimizer that has already run, such as the averages of Adam, is not moved with the model.
#
# The `Trainer` of [Section 3.2](../03-linear-regression/02-object-oriented-design.ipynb) has had this built in from the start.
# Its argument `num_gpus` asks for an accelerator; without one it falls back to the processor.
# Two short methods do all the moving, one the model, once, and one each batch:

# %%
for method in (Trainer.prepare_model, Trainer.prepare_batch):
    print(inspect.getsource(method))

# %%
# check 6.7-C5: the same result with and without asking for a GPU
losses = {}
for wanted in (0, 1):
    torch.manual_seed(0)
    data = SyntheticRegressionData(
        torch.tensor([2.0, -3.4]), 4.2, num_train=200, num_val=50,
        generator=torch.Generator().manual_seed(1))
    model = LinearRegression(lr=0.03, num_inputs=2)
    model.board.display = False
    data.generator = torch.Generator().manual_seed(2)
    trainer = Trainer(max_epochs=2, num_gpus=wanted)
    trainer.fit(model, data)
    losses[wanted] = torch.tensor(trainer.history["train_loss"])
tolerance = 0 if num_gpus() == 0 else 1e-4
torch.testing.assert_close(losses[0], losses[1], rtol=tolerance, atol=0)

# %% [markdown]
# ### What a training step holds
#
# A card has a memory of its own, which a model that is large enough fills; on CUDA the program then ends with `torch.OutOfMemoryError`.
# Besides the batch and temporary results, four kinds of tensors share the memory while a network trains: its parameters, their gradients, the state of the optimizer, and the intermediate results that the backward pass needs ([Section 5.3](../05-multilayer-perceptrons/03-backpropagation.ipynb)).
# The first three are fixed by the model and the optimizer; the last kind grows with the batch.
# All of them can be counted without a card:

# %%
def num_bytes(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


def step_memory(net, X):
    """Bytes that one step of Adam on sum(net(X)) holds, kind by kind.

    Saved for the backward pass: what it needs besides parameters and X.
    The batch X and temporary results are not counted.
    """
    known = {t.untyped_storage().data_ptr() for t in [X, *net.parameters()]}
    saved = {}  # address -> bytes; alive until the backward pass

    def keep(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = net(X).sum()
    loss.backward()
    optimizer = torch.optim.Adam(net.parameters())
    optimizer.step()
    state = [t for slot in optimizer.state.values() for t in slot.values()]
    return {"parameters": num_bytes(net.parameters()),
            "gradients": num_bytes(p.grad for p in net.parameters()
                                   if p.grad is not None),
            "Adam": num_bytes(state), "saved": sum(saved.values())}


memory = {}
for n in (64, 4096):
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    memory[n] = step_memory(net.to(device), torch.ones(n, 784, device=device))
    print(f"batch of {n:4}:", "  ".join(
        f"{kind} {size / 1e6:.2f} MB" for kind, size in memory[n].items()))

# %%
# check: 4, 4 and 8 bytes a parameter, and one row of 256 for each example
for n, parts in memory.items():
    assert parts["parameters"] == parts["gradients"] == 4 * 203_530
    assert 0 <= parts["Adam"] - 8 * 203_530 <= 4 * 4  # and its counters
    assert parts["saved"] == n * 256 * 4
fixed = sum(memory[64].values()) - memory[64]["saved"]
assert memory[64]["saved"] < fixed < memory[4096]["saved"]
assert num_bytes([torch.empty(4096, 784)]) > memory[4096]["saved"]

# check: a frozen layer has no gradient and no state; a view that is
# saved, here half of the columns, keeps all of its storage
net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(2, 1)).double()
net[0].requires_grad_(False)
net[1].register_forward_hook(lambda layer, args, out: out[:, :2])
assert step_memory(net, torch.ones(3, 5).double()) == {
    "parameters": 8 * 27, "gradients": 8 * 3,
    "Adam": 16 * 3 + 2 * 4, "saved": 8 * 3 * 4}

# %% [markdown]
# With 64 examples Adam's two averages are the largest of the four; with 4096 the intermediate results are.
# The sum of the four is not what a step needs at its peak.
# They need not all be there at once: if old gradients were dropped before, as `zero_grad()` does, the backward pass makes new ones while it frees what was saved, and when the optimizer steps nothing of that is left.
# On the other hand the batch comes on top, here larger than what is saved for the backward pass, and so do temporary results: the gradient with respect to an intermediate result, for instance, is as large as the result.
#
# Which part is too large decides which remedy helps.
# Against intermediate results: a smaller batch, gradients that are added up over several small batches, *checkpointing* (Section 5.3), or numbers of 16 bits (below).
# Against the fixed part: an optimizer with less state, fewer trained parameters, or several cards, each of which holds a share (Rajbhandari et al., 2020).
# A batch that does not fit may also be the work of a name that still refers to the tensors of an earlier step, for instance a list of validation losses that were computed without `torch.no_grad()`: no backward pass follows, so each keeps what was saved for one.
# (A backward pass frees these results; a training loss in such a list keeps only the rest of its graph, and `detach()` drops that too.)
#
# PyTorch as a rule does not give freed memory back to the card but keeps it for its next tensors; `torch.cuda.empty_cache()` gives back those of its blocks of which no tensor takes up any part.
# For this reason, and because CUDA itself needs some memory in each process, `nvidia-smi` shows more than the tensors take up; `torch.cuda.memory_allocated()` and `torch.cuda.max_memory_allocated()` tell how much they take now and how much they took at most.

# %% [markdown]
# ## A device that works behind your back
#
# When Python calls an operation on a GPU, the operation is only put into a *queue*, and the call as a rule returns before it has been carried out.
# Python runs ahead and fills the queue, the card works it off, and both are busy.
# This is called *asynchronous* execution, and it works as long as nobody asks for a number.
#
# `loss.item()`, `print(loss)`, `loss.cpu()`, a conversion to NumPy or an `if loss > 1` need the value; so, less visibly, do `X.nonzero()` and `X[X > 0]`, because the size of the result depends on the values.
# On CUDA, `torch.cuda.set_sync_debug_mode("warn")` reports many such places.
# Python then has to wait until the card has computed it; the card, for its part, idles until Python has queued something new.
#
# ![Two pairs of timelines. Above, with item in every step: the host queues, waits, queues, waits; the device computes and idles in turn. Below, with one item at the end: the host queues all steps in a row; the device computes without a gap, and finishes much earlier.](img/gpu-timeline.svg)
#
# **Figure 6.7.2.** Above, the loss is fetched in every step and the two wait for each other; below, once at the end.
# A sketch, not a measurement: how long the gaps are depends on the model and on the machine.
#
# This is what writing the loss of every minibatch to a log costs.
# It is often blamed on Python's global interpreter lock; but the wait occurs in a program with a single thread too, which competes with nobody for the lock.
# The remedy is to keep sums on the device, and to fetch them once an epoch.
# The `Trainer` does so; here it is as a class of its own.

# %%
class DeviceMeter:
    """Mean of values that stay on their device until it is asked for."""

    def __init__(self):
        self.total, self.count = 0.0, 0

    def add(self, value, n=1):
        """Add the mean `value`, a scalar tensor, of n examples."""
        self.total = self.total + value.detach() * n
        self.count += n

    def value(self):
        """The mean so far, a number; the only call that waits."""
        return float(self.total) / self.count

# %%
# check 6.7-C6: the meter has the mean of everything that was added
rng = torch.Generator().manual_seed(3)
values = torch.rand(100, generator=rng).to(device).requires_grad_()
counts = torch.randint(1, 65, (100,), generator=rng)
meter = DeviceMeter()
for value, n in zip(values, counts.tolist()):
    meter.add(value, n)
expected = (values.detach().cpu() * counts).sum() / counts.sum()
assert abs(meter.value() - expected.item()) < 1e-5
# the sum has stayed a tensor where the values are
assert isinstance(meter.total, torch.Tensor)
assert meter.total.device == values.device
assert not meter.total.requires_grad  # nor was a graph kept alive
DeviceMeter().add(torch.ones((), device="meta"), 3)  # no data to fetch

# %% [markdown]
# The same effect spoils measurements.
# A clock around an asynchronous call shows how long it took to *queue* the work.
# To measure the work, wait for the queue before you read the clock, and run once before, since the first call has extra work to do, such as loading code.

# %%
def benchmark(fn, repeats, device):
    """Mean seconds per call of fn, after a warm-up, on a device."""
    def wait():
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    fn()
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        fn()
    wait()
    return (time.perf_counter() - start) / repeats

# %% [markdown]
# Does it measure what it should?
# We try it on a device whose times we know, because we make it up.
# The first of its calls takes 100 s, the others 2 s; it only queues them, and the clock moves while Python waits for this very device.

# %% tags=["hide-input"]
class MadeUpDevice:
    """A queue of work and a clock that moves when it is worked off."""

    def __init__(self, device):
        self.device, self.calls, self.queued, self.now = device, 0, 0, 0

    def call(self):
        self.queued += 100 if self.calls == 0 else 2
        self.calls += 1

    def synchronize(self, device):
        assert device == self.device
        self.now, self.queued = self.now + self.queued, 0

# %%
# check: the warm-up is not counted, the queued work of three calls is
card = MadeUpDevice(torch.device("cuda:1"))
with (mock.patch("time.perf_counter", lambda: card.now),
      mock.patch("torch.accelerator.synchronize", card.synchronize)):
    assert benchmark(card.call, 3, card.device) == 2
assert card.calls == 4

slow = MadeUpDevice(cpu())  # a processor works at once, nobody waits
with (mock.patch("time.perf_counter", lambda: slow.now),
      mock.patch("torch.accelerator.synchronize", side_effect=OSError)):
    def work():
        slow.call()
        slow.synchronize(slow.device)
    assert benchmark(work, 5, cpu()) == 2

# %% [markdown]
# Now to real devices.
# A product of two $n\times n$ matrices counts as $2n^3$ operations, $n$ multiplications and as many additions for each of its $n^2$ entries.

# %%
def billions(n, seconds):
    """Billion operations per second of an n by n matrix product."""
    return 2 * n**3 / seconds / 1e9


# check: PyTorch counts the operations of a product in the same way
A = torch.empty(50, 50, device="meta")
with FlopCounterMode(display=False) as counter:
    A @ A
assert billions(50, 1e-9) == counter.get_total_flops()

# %% tags=["timing"]
curves = {}
for device in dict.fromkeys([cpu(), try_gpu()]):
    rates = []
    for n in sizes:
        A, B = (torch.rand(n, n, device=device) for _ in range(2))
        seconds = benchmark(lambda: A @ B, 3, device)
        rates.append(billions(n, seconds))
    curves[device.type] = rates
ax = d2l.plot(sizes, list(curves.values()), list(curves),
              xlabel="edge of the matrices", ylabel="billion operations/s",
              xscale="log", yscale="log", fmts=["o-", "s--"])
ax.set_xscale("log", base=2)
ax.set_ylim(0.1, 10 * max(max(rates) for rates in curves.values()))
d2l.describe(ax, "Operations per second of a product of square matrices "
             "against their edge, on logarithmic axes, one curve for each "
             "device of the machine that ran it.")

# %% [markdown]
# **Figure 6.7.3.** Speed of a matrix product on the devices of the machine that ran this notebook.
# The smallest matrices reach a small part of the speed of the largest.
# Dips in between are not explained here: each point is the mean of only three calls.
#
# This edition was made on a machine without a GPU, so there is one curve here, and we do not guess the other.
# Run the notebook on a machine that has one, and it appears; if the two cross, it is there that the GPU begins to pay on your machine, for matrices that lie on it already.

# %% [markdown]
# ## Three modern switches
#
# They are used in Chapter 8; here is what each one does.
#
# *Automatic mixed precision* computes the expensive operations with 16 bits and keeps the parameters in 32.
# Inside `torch.autocast` with `dtype=torch.bfloat16` a linear layer returns this type, which has the range of `float32` and fewer digits; without `dtype` CUDA takes `float16`, whose small range calls for scaled gradients, `torch.amp.GradScaler` ([Section 2.1](../02-preliminaries/01-data-manipulation.ipynb)).

# %%
# check 6.7-C7: under autocast results have 16 bits, parameters keep 32
layer = nn.Linear(4, 2)
with torch.autocast("cpu", dtype=torch.bfloat16):
    out = layer(torch.ones(3, 4))
print(out.dtype, layer.weight.dtype)
assert out.dtype == torch.bfloat16 and layer.weight.dtype == torch.float32

# %% [markdown]
# Results in 16 bits, here those of the hidden layer, take half the memory until the backward pass, but 16-bit copies of inputs and weights are kept besides; and some operations, such as the cross-entropy, go on saving 32 bits.
# Our network above has 784 inputs and 256 intermediate results for each example; at a batch of 1024, mixed precision makes it save more, and a network with 100 inputs less.

# %%
# check 6.7-C7: 16 bits save more or less, depending on the inputs
for num_inputs in (784, 100):
    net = nn.Sequential(nn.Linear(num_inputs, 256), nn.ReLU(),
                        nn.Linear(256, 10))
    X = torch.ones(1024, num_inputs)
    before = step_memory(net, X)["saved"]
    net.forward = torch.autocast("cpu", dtype=torch.bfloat16)(net.forward)
    after = step_memory(net, X)["saved"]
    print(f"{num_inputs} inputs: {before / 1e6:.2f} and {after / 1e6:.2f} MB")
    assert after > before if num_inputs == 784 else after < 0.8 * before

# %% [markdown]
# `torch.compile` records what a model does and generates code for it in which several operations may be fused into one, so that results in between need not go to memory and back.
# Compiling takes time at the first call.
# The backend `eager` only records and generates nothing, which suffices to see two things: the results are the same, and the names of the parameters get a prefix that matters when you save them.
# The original `net` shares the parameters and keeps the plain names, so save its `state_dict()`.
# There is also `module.compile()`, which compiles in place and keeps the names; in PyTorch 2.13 it works for a class of your own, but leaves a bare `nn.Sequential` like this one uncompiled ([Section 13.1](../13-computational-performance/01-compile.ipynb)).

# %%
# check 6.7-C8: a compiled model computes the same; its names have a prefix
net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
compiled = torch.compile(net, backend="eager")
X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
torch.testing.assert_close(compiled(X), net(X))
assert all(k.startswith("_orig_mod.") for k in compiled.state_dict())
print(list(compiled.state_dict()))

# %% [markdown]
# *Channels last* stores pictures with the colours of a pixel side by side, a layout that some fast convolution kernels are written for; `X.to(memory_format=torch.channels_last)` changes the strides and not the shape.

# %%
pictures = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
print(pictures.shape, pictures.stride())
assert pictures.stride() == (48, 1, 12, 3)

# %% [markdown]
# ## Summary
#
# - A tensor lives on one device; operands must share it, and copies between devices are written out, because they cost time.
# - `to` copies only if it has to. A model is moved in place, its optimizer is made afterwards.
# - A list of devices must never be empty; without a GPU it has the processor.
# - With Adam in `float32`, each trained parameter takes up 16 bytes while it is updated. Before that, the batch, what the backward pass needs, and temporary results want room as well.
# - GPU calls are queued. A program that asks for a value waits; keep sums on the device and fetch them once an epoch.
# - Measure with a warm-up, and synchronize before the clock is read.

# %% [markdown]
# ## Exercises
#
# ### Exercise 6.7-1
#
# Compute the product of a $100\times100$ matrix with itself 1000 times, each time anew, and sum the Frobenius norms of the products, once fetching each norm and once fetching the sum.
# Compare results and times.

# %% [markdown]
# #### Solution 6.7-1

# %% [markdown]
# The results agree up to rounding.
# On a processor nothing is queued, so we expect similar times.
# On a GPU the first program waits a thousand times and the second once; by how much that differs, the cell prints for your machine.

# %% tags=["timing"]
device = try_gpu()
rng = torch.Generator().manual_seed(4)
A = torch.rand(100, 100, generator=rng).to(device)

def fetch_each():
    return sum(torch.linalg.vector_norm(A @ A).item()
               for _ in range(1000))

def fetch_once():
    total = torch.zeros((), device=device)
    for _ in range(1000):
        total += torch.linalg.vector_norm(A @ A)
    return total.item()

results = []
for name, fn in (("each", fetch_each), ("once", fetch_once)):
    fn()  # warm-up
    start = time.perf_counter()
    results.append(fn())
    print(f"fetch {name}: {time.perf_counter() - start:.3f} s")
assert abs(results[0] / results[1] - 1) < 1e-4

# %% [markdown]
# ### Exercise 6.7-2
#
# Find the size at which a matrix product becomes faster on the GPU.
# What does it depend on?

# %% [markdown]
# #### Solution 6.7-2

# %% [markdown]
# Two costs: each call on the GPU takes some time to start, whatever the size of its matrices, and on the processor a product of two $n\times n$ matrices takes about $2n^3$ operations.
# As long as the GPU is done with the product itself in no time, the two meet where $2n^3$ divided by the speed of the processor at this size equals the cost of starting; Figure 6.7.3 shows the place for your machine, if it has a GPU and the place is among the sizes that were tried.
# If the matrices have to be copied first, it lies at a larger size.
# The results agree only up to rounding, because the order of the sums differs.

# %%
rng = torch.Generator().manual_seed(5)
A = torch.rand(200, 200, generator=rng)
on_device = A.to(try_gpu())
torch.testing.assert_close((on_device @ on_device).cpu(), A @ A,
                           rtol=1e-3, atol=0)

# %% [markdown]
# ### Exercise 6.7-3
#
# Write the parameters of a model on one device and read them on another.

# %% [markdown]
# #### Solution 6.7-3

# %% [markdown]
# A file remembers the device of each tensor.
# `map_location` says where they should go instead; without it, a file written on a GPU cannot be read on a machine that has none.

# %%
net = nn.Linear(4, 2).to(try_gpu())
file = io.BytesIO()
torch.save(net.state_dict(), file)
file.seek(0)
state = torch.load(file, map_location="cpu", weights_only=True)
assert all(t.device == cpu() for t in state.values())
file.seek(0)  # on a machine without a GPU, a device that is another one
moved = torch.load(file, map_location="meta", weights_only=True)
assert all(t.is_meta for t in moved.values())
for name, tensor in net.state_dict().items():
    assert torch.equal(state[name], tensor.cpu())

# %% [markdown]
# ### Exercise 6.7-4
#
# Write a decorator that checks that all tensors among the arguments share a device, and says which do not.

# %% [markdown]
# #### Solution 6.7-4

# %% [markdown]
# The error that we saw above names the devices only; ours also says which argument lies where, by its position or its keyword.
# It is stricter than PyTorch: a number on the processor is refused too.

# %%
def same_device(function):
    @functools.wraps(function)
    def checked(*args, **kwargs):
        found = {name: str(a.device)
                 for name, a in (*enumerate(args), *kwargs.items())
                 if isinstance(a, torch.Tensor)}
        if len(set(found.values())) > 1:
            raise ValueError(f"{function.__name__} got tensors on different "
                             f"devices: {found}; move them to one.")
        return function(*args, **kwargs)
    return checked

@same_device
def add(a, b):
    return a + b

assert add(torch.ones(2), torch.ones(2)).tolist() == [2, 2]
other = torch.ones(2, device="meta")
for args, names in (((other,), {}), ((), {"b": other})):
    try:
        add(torch.ones(2), *args, **names)
        raised = False
    except ValueError as error:
        raised = str(error)
        print(error)
    assert raised and f"{[*names, 1][0]!r}: 'meta'" in raised
assert add.__name__ == "add"

# %% [markdown]
# ### Exercise 6.7-5
#
# If you have two GPUs, let both multiply large matrices at the same time, and compare with one after the other.

# %% [markdown]
# #### Solution 6.7-5

# %% [markdown]
# Since calls are queued, the second card can begin while the first still works: two calls in a row are all it takes.
# With one device or none the cell says so and stops; with two it prints what your machine needs in each order.

# %% tags=["timing"]
if num_gpus() >= 2:
    pair = [torch.rand(4096, 4096, device=gpu(i)) for i in range(2)]

    def both(order):
        for M in pair:
            torch.accelerator.synchronize(M.device)
        start = time.perf_counter()
        for M in pair:
            for _ in range(20):
                M @ M
            if order == "one after the other":
                torch.accelerator.synchronize(M.device)
        for M in pair:
            torch.accelerator.synchronize(M.device)
        return time.perf_counter() - start

    both("warm up")
    for order in ("together", "one after the other"):
        print(f"{order}: {both(order):.3f} s")
else:
    print("skipped: this machine has fewer than two accelerators")

# %% [markdown]
# ## Sources
#
# - PyTorch documentation, [CUDA semantics](https://docs.pytorch.org/docs/stable/notes/cuda.html): asynchronous execution, pinned memory, memory management; [torch.accelerator](https://docs.pytorch.org/docs/stable/accelerator.html); [meta device](https://docs.pytorch.org/docs/stable/meta.html); [torch.amp](https://docs.pytorch.org/docs/stable/amp.html); [torch.compile](https://docs.pytorch.org/docs/stable/generated/torch.compile.html).
# - NVIDIA, [CUDA C++ best practices guide](https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/): transfers, and measuring with synchronization.
# - P. Micikevicius et al. (2018). Mixed precision training. [arXiv:1710.03740](https://arxiv.org/abs/1710.03740).
# - S. Rajbhandari, J. Rasley, O. Ruwase, Y. He (2020). ZeRO: memory optimizations toward training trillion parameter models. [arXiv:1910.02054](https://arxiv.org/abs/1910.02054): shares of parameters, gradients and state.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the names of the functions.
