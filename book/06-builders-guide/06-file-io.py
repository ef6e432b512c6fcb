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
# # 6.6 File I/O
#
# A trained model lives in the memory of one process and dies with it.
# What has to be written to a file so that the model, or a training run that was cut off, comes back exactly as it was?
# And may we open a model file that somebody else has made?
#
# **You will**
#
# - store and restore tensors, models and whole training runs, and say what the file holds and what it does not;
# - reuse a part of a stored model in another one;
# - see what a hostile model file can do, and load so that it can not;
# - resume a run so that it equals an uninterrupted one to the last bit, and avoid the traps of references and views.
#
# **Cost**: a few seconds on a CPU, no download, no use of a GPU. All files go to a temporary folder, which the last cell removes.

# %%
import copy
import os
import pickle
import tempfile
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params

d2l.use_style()

# %%
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)

# %% [markdown]
# ## Why files
#
# There are three occasions to write a model to a disk.
# *Reuse*: somebody, perhaps we ourselves, continues from weights that took days to find.
# *Deployment*: the program that answers requests is not the program that trained.
# *Checkpoints*: a run that takes a week is likely to be interrupted, by a power cut, a full disk or the end of the time we were given on a cluster; if its state is stored every hour, at most about an hour is lost.
# They ask for different amounts of data.
# For the first two the parameters are enough; the third needs everything that influences the next step.
# We begin with the smallest piece, a tensor.
#
# ## Loading and saving tensors
#
# `torch.save(obj, path)` writes an object and `torch.load(path)` reads it.
# The object may be a tensor, or a list or dictionary of tensors, numbers and strings, nested to any depth.

# %%
def round_trip(obj, name="object.pt"):
    """Write obj, read it again, and return what was read."""
    torch.save(obj, folder / name)
    return torch.load(folder / name, weights_only=True)

x = torch.arange(4)
y = torch.zeros(4)
print(round_trip(x))
print(round_trip([x, y]))
print(round_trip({"x": x, "y": y}))

# %% [markdown]
# The argument `weights_only=True` restricts what the file may contain; below we see why it matters.
# It is the default since PyTorch 2.6, and we write it out because code is also run with older versions.

# %%
# check 6.6-C1: tensor, list and dictionary come back exactly
assert torch.equal(round_trip(x), x) and round_trip(x).dtype == x.dtype
x2, y2 = round_trip([x, y])
assert torch.equal(x2, x) and torch.equal(y2, y)
z2 = round_trip({"x": x, "y": y})
assert list(z2) == ["x", "y"]
assert torch.equal(z2["x"], x) and torch.equal(z2["y"], y)

# %% [markdown]
# "Exactly" includes the type and every bit: the bytes of the memory are copied, nothing is printed as a decimal number and read again.
# The file is an ordinary ZIP archive without compression.
# Each block of memory is one member, and a member `data.pkl` says how the blocks become tensors:

# %%
def members(path):
    """Names and sizes of the blocks of numbers in a file."""
    with zipfile.ZipFile(path) as archive:
        return {Path(m.filename).name: m.file_size
                for m in archive.infolist() if "/data/" in m.filename}

round_trip({"x": x, "y": y}, "two.pt")
print(members(folder / "two.pt"))
assert members(folder / "two.pt") == {"0": 4 * 8, "1": 4 * 4}

# %% [markdown]
# Four integers of 8 bytes and four floats of 4 bytes.
# In general a file that holds tensors with $n_1, \dots, n_K$ entries has the size
#
# $$
# S = \sum_{k=1}^{K} s_k n_k + o, \tag{6.6.1}
# $$
#
# where $s_k$ is the number of bytes of one entry of the $k$-th tensor (4 for `float32`, 2 for `bfloat16`, 8 for `int64`), $n_k$ the number of its entries, and $o$ the overhead in bytes: names, types, shapes, and padding that lets each block begin at a round address.
# The overhead is a few hundred bytes for each tensor; for models it can be neglected.
#
# ### A view takes its whole memory along
#
# What is a block of memory?
# A tensor is a window on a *storage*, and several tensors may look at one storage, such as a matrix and its first row ([Section 2.1](../02-preliminaries/01-data-manipulation.ipynb)).
# `torch.save` writes storages.
# That is right if both are saved together, because they share memory after loading too.
# It surprises if only the row is saved.
#
# ![Three tensors, left, point to their storages in the middle, and arrows lead on to the files, right. The matrix big and its row big[0] point to one storage of a thousand rows, and a file made from either holds all of them. The clone of the row has a storage of its own, and its file holds one row.](img/io-storage.svg)
#
# **Figure 6.6.1.** A row is a window on the storage of its matrix, and the file gets the whole storage; a clone has a storage of its own.

# %%
# check 6.6-C6: a row of a large matrix drags the matrix into the file
big = torch.zeros(1000, 1000)
torch.save(big[0], folder / "view.pt")
torch.save(big[0].clone(), folder / "clone.pt")
sizes = {name: (folder / name).stat().st_size
         for name in ("view.pt", "clone.pt")}
print({name: f"{size / 1e6:.1f} MB" for name, size in sizes.items()})
assert sizes["view.pt"] > 4_000_000 and sizes["clone.pt"] < 10_000

# %%
pair = round_trip([big, big[0]])
pair[1][0] = 7.0  # write into the row ...
assert pair[0][0, 0] == 7.0  # ... and see it in the matrix

# %% [markdown]
# So write `.clone()` when you keep a small part of something large: one embedding of a table, one example of a data set.
#
# ## Loading and saving model parameters
#
# In principle we could store each weight by itself.
# But a module already knows the names of all its parameters and buffers: its state dictionary ([Section 6.1](01-layers-and-modules.ipynb)) is a dictionary from names to tensors, and that we can write.

# %%
class MLP(nn.Module):
    """A perceptron with one hidden layer: (n, num_inputs) -> (n, q)."""

    def __init__(self, num_inputs=20, num_hiddens=256, num_outputs=10):
        super().__init__()
        self.hidden = nn.Linear(num_inputs, num_hiddens)
        self.output = nn.Linear(num_hiddens, num_outputs)

    def forward(self, X):
        H = F.relu(self.hidden(X))  # (n, num_hiddens)
        return self.output(H)  # (n, num_outputs)

# %%
torch.manual_seed(0)
net = MLP()
X = torch.randn(2, 20)
Y = net(X)  # (2, 10)
torch.save(net.state_dict(), folder / "mlp.pt")
for name, value in net.state_dict().items():
    print(f"{name:14} {tuple(value.shape)}")

# %% [markdown]
# Nothing in the file says that a ReLU lies between the two layers, or that `hidden` comes first.
# The state dictionary holds numbers; the architecture is code.
# To get the model back we need both halves.
#
# ![Two boxes on the left: the program with the class MLP, and the file with names and tensors. The call MLP() leads from the program to a clone with the right shapes and random numbers. The clone and the file are joined by load_state_dict into the trained model.](img/io-two-halves.svg)

# %% [markdown]
# **Figure 6.6.2.** The program gives the architecture, the file the numbers.
# `load_state_dict` copies each tensor of the file into the parameter of the same name.

# %%
# check 6.6-C2: the clone computes exactly what the original does
clone = MLP()  # other random numbers
assert not torch.equal(clone(X), Y)
state = torch.load(folder / "mlp.pt", weights_only=True)
assert list(state) == ["hidden.weight", "hidden.bias",
                       "output.weight", "output.bias"]
print(clone.load_state_dict(state))
clone.eval()
assert torch.equal(clone(X), Y)

# %% [markdown]
# `eval()` changes nothing here, but belongs to the pattern: the mode is not part of the state, a new module is in training mode, and with dropout or batch normalization it would give other outputs.
#
# This division of labour has a consequence.
# The names in the file are the names of attributes in the program.
# If `hidden` is renamed to `layer1`, the old files can no longer be loaded without renaming their keys as well.
#
# ### A lazy clone
#
# A network with lazy layers ([Section 6.4](04-lazy-initialization.ipynb)) does not know its input size yet.
# It can be loaded all the same, because the shapes stand in the file.

# %%
class LazyMLP(MLP):
    def __init__(self, num_hiddens=256, num_outputs=10):
        nn.Module.__init__(self)  # skips MLP's, which makes layers
        self.hidden = nn.LazyLinear(num_hiddens)
        self.output = nn.LazyLinear(num_outputs)

# %%
# check 6.6-C3: loaded, but printed as lazy until the first forward pass
lazy = LazyMLP()
lazy.load_state_dict(state)
before = repr(lazy)
assert lazy.hidden.weight.shape == (256, 20)
assert torch.equal(lazy(X), Y)
print(before.splitlines()[1], repr(lazy).splitlines()[1], sep="\n")
assert "LazyLinear(in_features=0" in before
assert "Linear(in_features=20" in repr(lazy)
assert "Lazy" not in repr(lazy.hidden)

# %% [markdown]
# Between loading and the first call the parameters are complete, and only the printed form is out of date: the layer changes its class when it is first called.
#
# ## When model and file differ
#
# Often we do not want the whole model.
# A network that was trained to tell ten classes apart may help with three others: we keep its hidden layer and put a new layer on top, a new *head*.

# %%
class NewHead(nn.Module):
    """The hidden layer of MLP under an output layer of another name."""

    def __init__(self, num_outputs=3):
        super().__init__()
        self.hidden = nn.Linear(20, 256)
        self.head = nn.Linear(256, num_outputs)

    def forward(self, X):
        return self.head(F.relu(self.hidden(X)))

# %% [markdown]
# By default `load_state_dict` is strict: every key of the model must be in the file, and every key of the file in the model.
# With `strict=False` it copies what has the same name and reports the rest.

# %%
# check 6.6-C4a: strict loading refuses, strict=False reports
other = NewHead()
try:
    other.load_state_dict(state)
    refused = False
except RuntimeError as error:
    refused = True
    print(error)
assert refused

other = NewHead()
report = other.load_state_dict(state, strict=False)
assert report.missing_keys == ["head.weight", "head.bias"]
assert report.unexpected_keys == ["output.weight", "output.bias"]
assert torch.equal(other.hidden.weight, net.hidden.weight)

# %% [markdown]
# Read the report.
# If the names in the file do not fit at all, for instance because all of them begin with `model.`, then `strict=False` copies nothing, raises nothing, and leaves a network of random numbers that looks as if it were loaded.
#
# A name that fits with a shape that does not is an error in both modes.

# %%
# check 6.6-C4b: a wrong shape is refused in both modes
for strict in (True, False):
    small = MLP(num_outputs=3)
    try:
        small.load_state_dict(state, strict=strict)
        refused = False
    except RuntimeError as error:
        refused = "size mismatch for output.weight" in str(error)
    assert refused
print("hidden layer loaded nevertheless:",
      torch.equal(small.hidden.weight, net.hidden.weight))

# %% [markdown]
# The last line shows a trap for programs that catch the error and go on: loading copies key after key and complains at the end.
# What was refused as a whole has been carried out in part.
#
# When we mean to take a part, we had better say which: filter the keys by name and shape first, and return the names so that the caller can check them.

# %%
def transfer_matching(src_state, dst):
    """Copy the tensors of src_state that fit into the module dst.

    A tensor fits if dst has an entry of that name and shape. Returns the
    names that were copied.
    """
    own = dst.state_dict()
    fitting = {name: value for name, value in src_state.items()
               if name in own and own[name].shape == value.shape}
    dst.load_state_dict(fitting, strict=False)
    return list(fitting)

# %%
small = MLP(num_outputs=3)
names = transfer_matching(state, small)
print(names)
assert names == ["hidden.weight", "hidden.bias"]
assert torch.equal(small.hidden.weight, net.hidden.weight)
assert transfer_matching({"model.hidden.weight": x}, small) == []

# %% [markdown]
# ## A model file is a program
#
# Instead of a dictionary of tensors, `torch.save(net, path)` also accepts the whole module.
# Tutorials show this form too, and it is a bad one, for two reasons.
#
# The first is that it stores less than it seems to.
# The file holds the attributes of the object and the *name* of its class, here `__main__.MLP`, not the code.
# If the class is renamed, moved to another file or changed, the file can no longer be read, or is read into a class that no longer fits.
#
# The second reason is security.
# Python stores objects in the *pickle* format, and a pickle is not a description of data but a program for a small machine.
# Two of its instructions suffice for everything: "import the object of this name" and "call it with these arguments".
# That is how objects of unknown classes can be restored, and it means that whoever writes the file decides what the reader's computer executes.
#
# Let us write such a file.
# The method `__reduce__` of an object tells pickle how to restore it, as a pair of a function and its arguments.
# Ours names the function that runs a command.
# The command is harmless, it writes a word into a file in our temporary folder; but it could be any other that the reader of the file is allowed to run.

# %%
flag = folder / "flag.txt"

class Trap:
    """An object whose restoration runs a command of the system."""

    def __reduce__(self):
        return os.system, (f'echo done > "{flag}"',)

torch.save({"weight": torch.ones(2), "bias": Trap()}, folder / "trap.pt")
print("command has run after saving:", flag.exists())
assert not flag.exists()

# %% [markdown]
# With `weights_only=True` PyTorch does not use Python's reader but its own, which calls nothing except a short list of functions that build tensors and containers.
# Everything else is refused before it happens.

# %%
# check 6.6-C5a: the trap is refused, and the command has not run
try:
    torch.load(folder / "trap.pt", weights_only=True)
    refused = False
except pickle.UnpicklingError as error:
    refused = True
    print("weights only load failed:", "Weights only" in str(error))
print("refused:", refused, " command has run:", flag.exists())
assert refused and not flag.exists()

# %% [markdown]
# A refusal proves little if the trap would not have snapped.
# It is our own file with a harmless command, so we can afford to open it the old way once.

# %%
# check 6.6-C5b: without the protection the same file runs the command
loaded = torch.load(folder / "trap.pt", weights_only=False)
print("entries:", list(loaded), " command has run:", flag.exists())
assert flag.exists()
flag.unlink()

# %% [markdown]
# No error, no warning, and a dictionary with the expected names; the reader notices nothing.
# Before version 2.6 a plain `torch.load(path)` did this.
#
# Our pickled module is refused for the same reason as the trap: the reader cannot know what calling `MLP` would do.

# %%
# check 6.6-C5c: a pickled model fails by default, loads on request
torch.save(net, folder / "whole.pt")
try:
    torch.load(folder / "whole.pt")
    refused = False
except pickle.UnpicklingError as error:
    refused = "__main__.MLP" in str(error)
assert refused
whole = torch.load(folder / "whole.pt", weights_only=False)
assert torch.equal(whole(X), Y)

# %% [markdown]
# The message of this error advises to set `weights_only=False` if the source is trusted.
# The advice is easily followed without its condition.
# What to do instead:
#
# - save state dictionaries, and publish the code of the model beside them;
# - look at what a foreign file asks for before you decide; `get_unsafe_globals_in_checkpoint` lists it without executing anything;
# - prefer files in the *safetensors* format where they are offered: a header in JSON with names, types and shapes, then the bytes of the numbers, and no place for code. A small package of the same name reads and writes it.

# %%
wanted = torch.serialization.get_unsafe_globals_in_checkpoint
print("whole model:", "__main__.MLP" in wanted(folder / "whole.pt"))
print("state dictionary:", wanted(folder / "mlp.pt"))
assert any("system" in name for name in wanted(folder / "trap.pt"))
assert wanted(folder / "mlp.pt") == []

# %% [markdown]
# Two limits of the protection.
# It is code, and code has faults: up to version 2.5.1 a crafted file could run code in spite of `weights_only=True` ([CVE-2025-32434](https://nvd.nist.gov/vuln/detail/CVE-2025-32434)), and before version 2.10 one could still corrupt memory and perhaps run code ([CVE-2026-24747](https://nvd.nist.gov/vuln/detail/CVE-2026-24747)), so keep PyTorch up to date.
# And it protects the computer, not the application: harmless to load does not mean that the weights do what their description promises.
#
# ## A state dictionary refers, it does not copy
#
# A frequent task is to keep the best parameters seen so far and to return to them at the end, as training with early stopping does.
# The obvious line `best = net.state_dict()` does not do it.

# %%
# check 6.6-C7: the dictionary of before changes with the model
best = net.state_dict()
kept = copy.deepcopy(net.state_dict())
with torch.no_grad():
    net.hidden.weight += 1  # a training step changes values in place
assert torch.equal(best["hidden.weight"], kept["hidden.weight"] + 1)
assert best["hidden.weight"].data_ptr() == net.hidden.weight.data_ptr()

# %% [markdown]
# The dictionary holds references to the memory of the parameters, without a copy and without a history for autograd.
# Optimizers change parameters in place, so at the end of the training `best` is the *last* model, whatever its name says.
# `copy.deepcopy`, or a file, fixes the moment.

# %%
net.load_state_dict(kept)
assert torch.equal(net(X), Y)

# %% [markdown]
# ## Checkpoints of a training run
#
# To resume a run we need everything on which its next step depends.
# Take Adam, the optimizer that most runs use; Chapter 12 explains its design, here only its memory counts.
# For each parameter it keeps two running averages,
#
# $$
# m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad
# v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \tag{6.6.2}
# $$
#
# and moves the parameter by
#
# $$
# w_t = w_{t-1} - \eta \, \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}. \tag{6.6.3}
# $$
#
# Here $w_t$ is one entry of a parameter after step $t$ and $g_t$ the derivative of the loss with respect to it; $m_t$ and $v_t$ are the averages of the derivative and of its square, with $m_0 = v_0 = 0$; all of these are numbers, one for each entry.
# $\beta_1, \beta_2 \in [0, 1)$ say how long the averages remember, $\eta > 0$ is the learning rate, and $\epsilon$ is a tiny number that prevents a division by 0.
#
# So $w_t$ depends on $w_{t-1}$, but also on $m_{t-1}$, $v_{t-1}$, $t$ and $\eta$.
# See what becomes of (6.6.3) if we forget them and start with $t = 1$: then $m_1 = (1 - \beta_1) g$ and $v_1 = (1 - \beta_2) g^2$, the corrections cancel the factors, and the step is
#
# $$
# w_1 - w_0 = -\eta \, \frac{g}{|g| + \epsilon} \approx -\eta \, \mathrm{sign}(g). \tag{6.6.4}
# $$
#
# In its first step Adam moves *every* entry with $|g|$ well above $\epsilon$ by almost exactly $\eta$, however small $|g|$ is otherwise; at $|g| = \epsilon$ it is half of that, and where $g = 0$, nothing moves.
# At the beginning of the training that is welcome.
# In the middle of it, where the derivatives are small and change their signs from minibatch to minibatch, it is a jolt.

# %%
# check: the first step has size lr from 1e-4 to 1e4, half at epsilon
w = torch.zeros(5, requires_grad=True)
optimizer = torch.optim.Adam([w], lr=0.02)
w.grad = torch.tensor([1e-4, -1.0, 1e4, 1e-8, 0.0])
optimizer.step()
torch.testing.assert_close(w.detach(),
                           torch.tensor([-0.02, 0.02, -0.02, -0.01, 0]),
                           rtol=1e-3, atol=0)

# %% [markdown]
# The next step depends on more than model and optimizer:
#
# | state | what it decides | where it is |
# | --- | --- | --- |
# | parameters and buffers | the function | `model.state_dict()` |
# | averages and counter of steps, learning rate | size and direction of the step | `optimizer.state_dict()` |
# | position in the schedule | the coming learning rates | `scheduler.state_dict()` |
# | epoch | when to stop | a number |
# | random generators | minibatches, dropout, augmentation | `torch.get_rng_state()` |
#
# The two functions below store and restore all of it.
# A scheduler, the best loss so far, the configuration and the like come as named extras.

# %% tags=["export"]
def save_checkpoint(path, model, optimizer, epoch, **extra):
    """Write the state of a training run to one file.

    Stores the state of `model` and `optimizer` (or None), the number of
    the `epoch`, the states of the random generators of the CPU and of
    CUDA devices, and `extra`: tensors, numbers, strings, or lists and
    dictionaries of them, such as scheduler=scheduler.state_dict(). The
    file is complete or absent: an older one at `path` stays until the
    new one is on the disk. Raises TypeError for anything that
    load_checkpoint would refuse.
    """
    rng = {"cpu": torch.get_rng_state(),
           "cuda": torch.cuda.get_rng_state_all()}
    state = dict(model=model.state_dict(),
                 optimizer=optimizer and optimizer.state_dict(),
                 epoch=epoch, rng=rng, **extra)
    partial = f"{os.fspath(path)}.partial"
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    try:  # what cannot be loaded safely should not be stored
        torch.load(partial, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError(
            "a checkpoint holds tensors, numbers, strings, lists and "
            f"dictionaries; one of {sorted(extra)} holds something else"
        ) from error
    os.replace(partial, path)

# %% [markdown]
# The way back has two uses: without an optimizer it only fills the model, with one it prepares the run to go on.

# %% tags=["export"]
def load_checkpoint(path, model, optimizer=None, map_location="cpu"):
    """Restore what save_checkpoint has written; return the whole state.

    Copies the parameters into `model`. With an `optimizer` the run is to
    go on: its state and the random generators are restored as well.
    Tensors are read to `map_location` and end where the model is.
    """
    state = torch.load(path, map_location=map_location, weights_only=True)
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"]["cpu"].cpu())
        present = torch.cuda.device_count()
        for i, rng in enumerate(state["rng"]["cuda"][:present]):
            torch.cuda.set_rng_state(rng.cpu(), i)
    return state

# %% [markdown]
# Three details deserve a word.
#
# A crash may happen while the file is being written, and checkpoints are written because crashes happen.
# We therefore write to another name, wait until the data has reached the disk (`fsync`), and rename.
# Within one file system `os.replace` is *atomic*: at every moment there is either the old file or the new one under the name, never half of one.
#
# Before the renaming we read the file once with `weights_only=True`.
# Otherwise an innocent extra, such as a loss that is a number of NumPy's type, would be written without complaint and refused weeks later.
# `map_location="meta"` makes this cheap: names, types and shapes are read, the numbers are not.
#
# A tensor remembers the device that it was saved from.
# `torch.load` would put it there again, which fails on a machine without that device and fills its memory if the model is already there.
# `map_location="cpu"` reads everything to main memory; `load_state_dict` then copies each tensor to where its parameter is, so one file serves every device.

# %%
X_meta = torch.load(folder / "mlp.pt", map_location="meta",
                    weights_only=True)["hidden.weight"]
print(X_meta.device, tuple(X_meta.shape))
assert X_meta.is_meta and X_meta.shape == (256, 20)

# %% [markdown]
# Both protections can be tested: a function cannot be written at all, the number of NumPy's type only to be refused, and the earlier checkpoint survives.

# %%
# check: a failed save leaves the earlier checkpoint as it was
path = folder / "run.pt"
save_checkpoint(path, net, None, epoch=1)
assert not Path(f"{path}.partial").exists()  # renamed, not copied
for bad in (lambda: 0, x.double().numpy().mean()):
    try:
        save_checkpoint(path, net, None, epoch=2, loss=bad)
        failed = False
    except (AttributeError, TypeError, pickle.PicklingError):
        failed = True
    assert failed and load_checkpoint(path, MLP())["epoch"] == 1
with torch.device("meta"):
    shapes_only = MLP()
state = load_checkpoint(path, shapes_only, map_location="meta")
assert state["model"]["hidden.weight"].is_meta  # the map is obeyed

# %% [markdown]
# ### What is in the file
#
# After one step of training with Adam the checkpoint of our MLP holds the following.

# %% tags=["hide-input"]
def num_bytes(node):
    """Bytes of all tensors in nested dictionaries and lists."""
    if torch.is_tensor(node):
        return node.numel() * node.element_size()
    if isinstance(node, dict):
        node = list(node.values())
    return sum(map(num_bytes, node)) if isinstance(node, list) else 0

def tree(node, name, depth=0):
    """Rows (depth, name, shape or value, bytes), three levels deep."""
    text = (f"{tuple(node.shape)}" if torch.is_tensor(node)
            else str(node) if isinstance(node, int) else "")
    if depth == 3 and isinstance(node, dict):
        text = ", ".join(map(str, node))
    yield depth, name, text, num_bytes(node)
    if isinstance(node, dict) and depth < 3:
        for key, value in node.items():
            yield from tree(value, str(key), depth + 1)

# %%
torch.manual_seed(0)
net = MLP()
optimizer = torch.optim.Adam(net.parameters())
net(X).square().mean().backward()
optimizer.step()
save_checkpoint(path, net, optimizer, epoch=1)
state = torch.load(path, map_location="cpu", weights_only=True)
rows = list(tree(state, "run.pt"))

# %% tags=["hide-input"]
def draw_tree(rows, ax):
    """Draw the rows of `tree`, indented by their depth."""
    last = {}
    for y, (depth, name, text, size) in enumerate(rows):
        last[depth] = y
        if depth:
            ax.plot([depth - 0.9, depth - 0.9, depth - 0.1],
                    [last[depth - 1] + 0.35, y, y], color="0.6", lw=1)
        ax.text(depth, y, name, va="center",
                weight="bold" if depth < 2 else "normal")
        ax.text(5.6, y, text, va="center", color="0.35")
        ax.text(11.2, y, f"{size:,}" if size else "-", va="center",
                ha="right")
    ax.text(5.6, -1.2, "shape, value or entries", color="0.35")
    ax.text(11.2, -1.2, "bytes", ha="right")
    ax.set(xlim=(-0.2, 11.3), ylim=(len(rows) - 0.5, -2))
    ax.axis("off")

# %%
fig, ax = plt.subplots(figsize=(6.0, 4.4))
draw_tree(rows, ax)
d2l.describe(ax, """Tree of a checkpoint. Model: four tensors, 31,784 bytes
together. Optimizer: for each of the four a counter and two averages,
63,584 bytes together, and the settings. Then the epoch and the states
of the random generators.""")

# %% [markdown]
# **Figure 6.6.3.** What a checkpoint holds.
# The optimizer takes twice as much room as the model.
#
# The sizes follow from (6.6.1).
# The model has $7946$ entries of 4 bytes, that is $31{,}784$ bytes.
# Adam stores two averages of the same size, and a counter of 4 bytes for each of the four tensors: $2 \cdot 31{,}784 + 4 \cdot 4 = 63{,}584$ bytes.
# A file for deployment can leave this out, and is then about a third as large.

# %%
# check: bytes of the model, and twice as many and 16 for the optimizer
assert num_bytes(state["model"]) == 4 * count_params(net) == 31_784
assert num_bytes(state["optimizer"]) == 2 * 31_784 + 4 * 4

# %% [markdown]
# ### Interrupted and resumed
#
# Now the experiment for which the functions were written.
# A small network learns a noiseless linear function for 6 epochs of 10 minibatches, 60 steps of Adam; the learning rate falls by 5 % after each epoch.
# `make_run` creates the objects of a run, `train` continues it over some epochs and records the loss on all data after each step.

# %%
generator = torch.Generator().manual_seed(0)
X_train = torch.randn(640, 5, generator=generator)
w_true = torch.randn(5, 1, generator=generator)
y_train = X_train @ w_true  # (640, 1)

def make_run(seed=2):
    torch.manual_seed(seed)
    net = MLP(5, 256, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
    return net, optimizer, scheduler

# %%
def train(net, optimizer, scheduler, epochs):
    """Train over the given epochs; returns the loss after each step."""
    losses = []
    for _ in epochs:
        for batch in torch.randperm(640).split(64):
            loss = F.mse_loss(net(X_train[batch]), y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                losses.append(F.mse_loss(net(X_train), y_train).item())
        scheduler.step()
    return losses

# %% [markdown]
# The first run is not interrupted.
# The second stops after 3 epochs, 30 steps, and leaves a checkpoint.

# %%
whole_run = make_run()
losses_whole = train(*whole_run, range(6))

net, optimizer, scheduler = make_run()
losses_first = train(net, optimizer, scheduler, range(3))
save_checkpoint(path, net, optimizer, epoch=3,
                scheduler=scheduler.state_dict())
del net, optimizer, scheduler

# %% [markdown]
# To resume, we create the objects as if for a new run and then load their states.
# The global generator has moved on in the meantime; `load_checkpoint` sets it back.

# %%
def resume(with_optimizer=True, with_rng=True, factor=1.0,
           file="run.pt"):
    """Go on from the checkpoint; returns the network and its losses.

    Without the optimizer's state a new Adam starts with `factor` times
    the learning rate that the schedule has reached.
    """
    net, optimizer, scheduler = make_run()
    state = load_checkpoint(folder / file, net, optimizer)
    scheduler.load_state_dict(state["scheduler"])
    if not with_optimizer:
        lr, = scheduler.get_last_lr()
        optimizer = torch.optim.Adam(net.parameters(), lr=factor * lr)
        scheduler.optimizer = optimizer
    if not with_rng:
        torch.manual_seed(1)
    losses = train(net, optimizer, scheduler, range(state["epoch"], 6))
    # check: the schedule has governed the optimizer that was used
    assert scheduler.get_last_lr() == [optimizer.param_groups[0]["lr"]]
    return net, losses

# %%
# check 6.6-C8: resumed with all states equals the uninterrupted run
net_all, losses_all = resume()
net_part, losses_part = resume(with_optimizer=False)

def same_parameters(net1, net2):
    return all(torch.equal(p, q) for p, q in
               zip(net1.parameters(), net2.parameters()))

assert len(losses_whole) == 60 and len(losses_first) == 30
assert same_parameters(net_all, whole_run[0])
assert losses_first + losses_all == losses_whole
assert not same_parameters(net_part, whole_run[0])

# %% tags=["hide-input"]
steps = torch.arange(1, 61)
ax = d2l.plot([steps, steps[30:], steps[29:]],
              [losses_whole, losses_all, losses_first[-1:] + losses_part],
              ["uninterrupted", "resumed with optimizer state",
               "resumed without"],
              xlabel="step", ylabel="training loss", yscale="log",
              fmts=["-", "k:", "C1--"])
ax.axvline(30, color="0.6", lw=1, zorder=0)
ax.text(29, 0.24, "interrupted", ha="right")
d2l.describe(ax, """Loss against the step, logarithmic. The curve of the
uninterrupted run falls by two orders of magnitude. From step 30 the run
resumed with optimizer state lies exactly on it; the one resumed without
jumps up to the level of the first steps, and needs more than ten steps to
come back to where it was interrupted.""")

# %% [markdown]
# **Figure 6.6.4.** Resumed with all states, the run continues as if nothing had happened.
# Without the optimizer's state the loss jumps in one step to where it was after the first steps of the run.
#
# With all states, all parameters are equal bit by bit.
# Without the averages, the loss more than trebles in one step.
# By (6.6.4) all parameters whose derivatives are well above $\epsilon$ in size move by the full learning rate at once.

# %%
# check: the first step without the averages more than trebles the loss
jump = losses_part[0] / losses_first[-1]
print("loss after the restart more than three times as high:", jump > 3)
assert jump > 3
assert losses_all[0] < 1.5 * losses_first[-1]
assert losses_part[0] > losses_whole[5]  # the level of the first steps
assert min(losses_part[:10]) > losses_first[-1]  # and not back in ten

# %% [markdown]
# Is it really the size of that step, or would any loss of the averages do it?
# Two controls tell.
# In the first, a new Adam starts with a tenth of the learning rate.
# In the second, only the averages of the derivatives are lost; those of their squares, which scale the step, and the counter are kept.

# %%
# check: neither a small first step nor the loss of m alone makes a jump
_, losses_small = resume(with_optimizer=False, factor=0.1)
state = torch.load(path, weights_only=True)
for entry in state["optimizer"]["state"].values():
    entry["exp_avg"].zero_()
torch.save(state, folder / "no_m.pt")
_, losses_no_m = resume(file="no_m.pt")
for losses in (losses_small, losses_no_m):
    assert losses[0] < 1.2 * losses_first[-1]
assert losses_no_m != losses_all

# %% [markdown]
# So the spike comes from a full learning rate without the averages $v$, which remember the larger derivatives of earlier steps and keep the steps small.
# How high it is depends on the seed; we compare runs with and without the optimizer's state for three more:

# %%
# check: three more seeds, a jump and a higher loss at the end
for seed in range(3, 6):
    net, optimizer, scheduler = make_run(seed)
    before = train(net, optimizer, scheduler, range(3))[-1]
    fresh, rng = copy.deepcopy(net), torch.get_rng_state()
    lr, = scheduler.get_last_lr()
    kept = train(net, optimizer, scheduler, range(3))
    optimizer = torch.optim.Adam(fresh.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
    torch.set_rng_state(rng)  # the same minibatches
    lost = train(fresh, optimizer, scheduler, range(3))
    assert lost[0] > 3 * before > 1.5 * kept[0]
    assert lost[-1] > 1.2 * kept[-1]

# %% [markdown]
# All three recover, but after 60 steps they have not made up for what they lost.

# %% [markdown]
# The random state matters too.
# Without it the minibatches of the second half are others, so the result differs although model and optimizer are restored.
# We have no reason to expect a worse one, but a fault that appears after hours can then not be reproduced from the last checkpoint.

# %%
# check: without the random state the run goes on in another way
net_seed, losses_seed = resume(with_rng=False)
assert not same_parameters(net_seed, whole_run[0])
assert losses_seed[0] < 1.5 * losses_first[-1]  # but without a jump

# %% [markdown]
# Equality to the last bit holds for the same program and the same versions on the same machine with the same number of threads.
# Other hardware adds in another order and rounds otherwise; some kernels of GPUs do so from run to run ([Section 6.7](07-gpus.ipynb)).
# There a resumed run agrees with the other up to rounding at first, and the difference may grow as between two runs with different seeds.
# Generators of your own, of Python or of NumPy are not in the file unless you hand their states over as extras.

# %% [markdown]
# ## Summary
#
# - A state dictionary holds numbers under names; the architecture stays in the program, and `load_state_dict` joins the two.
# - `strict=False` reports what it leaves out; read the report, and never go on after a refused load, because a part of it has happened.
# - A pickle is a program. `weights_only=True` lets it call only functions of a short list; save state dictionaries, and leave `weights_only=False` to files that you wrote yourself.
# - `state_dict()` refers to the parameters, a saved view writes its whole storage: copy with `deepcopy` and `clone`.
# - A checkpoint holds model, optimizer, schedule, epoch and random states. With all of them the run goes on bit by bit; without Adam's averages of squares, the first full step is a jolt.
# - Write to another name, then rename; load to the CPU, then copy to where the model is.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 6.6-1
#
# A model will never be deployed.
# Name four benefits of storing its parameters nevertheless.
# Show one of them: reload the network of this section and reproduce its loss on data that it was not trained on.

# %% [markdown]
# #### Solution 6.6-1

# %% [markdown]
# A crash costs an hour instead of a week; the best of many epochs can be chosen after the fact; a result can be examined later, by ourselves and by others who doubt it; other models can start from its layers; several stored models can be averaged or combined.

# %%
X_val = torch.randn(200, 5, generator=generator)
y_val = X_val @ w_true  # (200, 1)

def val_loss(net):
    net.eval()
    with torch.no_grad():
        return F.mse_loss(net(X_val), y_val).item()

before = val_loss(whole_run[0])
save_checkpoint(folder / "final.pt", whole_run[0], None, 6, val=before)
reloaded, rng = MLP(5, 256, 1), torch.get_rng_state()
state = load_checkpoint(folder / "final.pt", reloaded)
assert val_loss(reloaded) == before == state["val"]
assert state["epoch"] == 6 and state["optimizer"] is None
# without an optimizer the random generators are left alone
torch.manual_seed(5)
save_checkpoint(folder / "seeded.pt", reloaded, None, 6)
torch.set_rng_state(rng)
load_checkpoint(folder / "seeded.pt", reloaded)
assert torch.equal(torch.get_rng_state(), rng)

# %% [markdown]
# ### Exercise 6.6-2
#
# Train a network of three linear layers for a few steps and save it.
# Use its first two linear layers in a new network with another head, and show that both networks have the same activations after the second layer.

# %% [markdown]
# #### Solution 6.6-2

# %% [markdown]
# In a sequence the keys begin with the position: the first two linear layers are `0.` and `2.`.
# We filter by these prefixes; after that the only missing keys must be those of the head.

# %%
def three_layers(num_outputs):
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8),
                         nn.ReLU(), nn.Linear(8, num_outputs))

torch.manual_seed(0)
old, new = three_layers(1), three_layers(3)
optimizer = torch.optim.Adam(old.parameters(), lr=0.02)
scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
losses = train(old, optimizer, scheduler, range(1))
assert losses[-1] < losses[0]

# %%
torch.save(old.state_dict(), folder / "old.pt")
state = torch.load(folder / "old.pt", weights_only=True)
lower = {k: v for k, v in state.items() if k.startswith(("0.", "2."))}
report = new.load_state_dict(lower, strict=False)
assert report.missing_keys == ["4.weight", "4.bias"]
assert not report.unexpected_keys
assert torch.equal(new[:4](X_val), old[:4](X_val))
assert new(X_val).shape == (200, 3)

# %% [markdown]
# ### Exercise 6.6-3
#
# Store the architecture and the parameters together in one file that loads with `weights_only=True`.
# *Hint*: the arguments of the constructor are numbers.

# %% [markdown]
# #### Solution 6.6-3

# %% [markdown]
# The class remains code, but its arguments go into the file as a dictionary.
# The reader then needs to know neither the sizes nor which class it was, if the file names one of a list of classes that the program offers.
# A list of our own is the safe form of "import the object of this name".

# %%
MODELS = {"mlp": MLP, "new_head": NewHead}

def save_model(path, kind, config):
    net = MODELS[kind](**config)
    torch.save({"kind": kind, "config": config,
                "state": net.state_dict()}, path)
    return net

def load_model(path):
    file = torch.load(path, map_location="cpu", weights_only=True)
    net = MODELS[file["kind"]](**file["config"])
    net.load_state_dict(file["state"])
    return net.eval()

config = {"num_inputs": 5, "num_hiddens": 32, "num_outputs": 2}
original = save_model(folder / "both.pt", "mlp", config)
rebuilt = load_model(folder / "both.pt")
assert isinstance(rebuilt, MLP) and rebuilt.hidden.out_features == 32
assert torch.equal(rebuilt(X_val), original(X_val))

# %% [markdown]
# ### Exercise 6.6-4
#
# Predict the size of the file with the state dictionary of the MLP 20-256-10 and compare.
# How large is it in `bfloat16`, and what does that cost in accuracy?

# %% [markdown]
# #### Solution 6.6-4

# %% [markdown]
# By (6.6.1) it has $4 \cdot 7946 = 31{,}784$ bytes and an overhead that is below 10,000 bytes.
# In `bfloat16` the numbers take half of that.
# The type keeps 8 significant binary digits, so that each weight is rounded by at most one part in 256.

# %%
torch.manual_seed(0)
net = MLP()
half = {k: v.to(torch.bfloat16) for k, v in net.state_dict().items()}
torch.save(net.state_dict(), folder / "full.pt")
torch.save(half, folder / "half.pt")
full_size = (folder / "full.pt").stat().st_size
half_size = (folder / "half.pt").stat().st_size
assert 31_784 <= full_size <= 40_000
assert sum(members(folder / "half.pt").values()) == 31_784 // 2
assert half_size < full_size - 15_000
for name, value in net.state_dict().items():
    error = (half[name].float() - value).abs()
    assert (error <= value.abs() / 256).all()

# %% [markdown]
# ### Exercise 6.6-5
#
# Save a checkpoint after each epoch of a run, and average the parameters of the last five.
# Why must the average be taken over state dictionaries that were *read*, or deep copies, rather than collected during the run?

# %% [markdown]
# #### Solution 6.6-5

# %% [markdown]
# Dictionaries collected during the run all refer to the same memory, so their average is the last model.
# The averaged state, flattened to one vector, must be the mean of the five parameter vectors.

# %%
net, optimizer, scheduler = make_run()
for epoch in range(6):
    train(net, optimizer, scheduler, range(1))
    save_checkpoint(folder / f"epoch{epoch}.pt", net, optimizer, epoch)

states, vectors = [], []
for epoch in range(1, 6):
    one = MLP(5, 256, 1)
    states.append(load_checkpoint(folder / f"epoch{epoch}.pt", one)["model"])
    vectors.append(nn.utils.parameters_to_vector(one.parameters()))

mean_net = MLP(5, 256, 1)
mean_net.load_state_dict({name: torch.stack([s[name] for s in states])
                          .mean(0) for name in states[0]})
vector = nn.utils.parameters_to_vector(mean_net.parameters())
torch.testing.assert_close(vector, torch.stack(vectors).mean(0))
assert not torch.allclose(vector, vectors[-1])

# %%
temporary.cleanup()
assert not folder.exists()

# %% [markdown]
# Averages over late checkpoints are used in practice to suppress the noise of the minibatches.
# They are meant for a run that moves around a minimum, as in the paper by Izmailov and others; while a run still travels towards one, the average lies behind it.

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342), section on file I/O: the course from tensors to model parameters.
# - PyTorch documentation, [serialization semantics](https://docs.pytorch.org/docs/stable/notes/serialization.html): storages and views, the format of the file, `weights_only`.
# - Python documentation, [pickle](https://docs.python.org/3/library/pickle.html): the warning about untrusted data, `__reduce__`.
# - National Vulnerability Database, [CVE-2025-32434](https://nvd.nist.gov/vuln/detail/CVE-2025-32434) and [CVE-2026-24747](https://nvd.nist.gov/vuln/detail/CVE-2026-24747): holes in `weights_only=True`, closed in PyTorch 2.6 and 2.10.
# - Hugging Face, [safetensors](https://huggingface.co/docs/safetensors): a format for tensors without code.
# - D. P. Kingma, J. Ba (2015). Adam: a method for stochastic optimization. [arXiv:1412.6980](https://arxiv.org/abs/1412.6980): formulas (6.6.2) and (6.6.3).
# - P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov, A. G. Wilson (2018). Averaging weights leads to wider optima and better generalization. [arXiv:1803.05407](https://arxiv.org/abs/1803.05407): averages of models along a run.
