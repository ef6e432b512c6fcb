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
# # 2.7 Documentation
#
# A book cannot describe every function of a library that grows with each release.
# It can show how to find out which functions there are, what they take, what they do by default, and whether an answer that you found is true.
# All of this works from inside the notebook, and most of it without a network.

# %% [markdown]
# **You will**
#
# - list what a module offers, and read the conventions in its names;
# - read signatures, docstrings and sources, and know why some functions have none;
# - find the defaults that matter, and notice when they changed;
# - judge an answer found elsewhere by a test of three lines, and read an error message from the right end.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import inspect
import traceback
import types
import warnings

import torch
from torch import nn
from torch.nn import functional as F

# %% [markdown]
# ![Decision diagram. What do you know? If not the name: search dir(module), or the index of the documentation. If the name but not its arguments: help(), or inspect.signature. If the arguments but not the meaning: the docstring, then the source. If you found an answer elsewhere: which version is it for? All four paths end in a box: test it on an input whose answer you know.](img/where-to-look.svg)
#
# **Figure 2.7.1.** Where to look depends on what is missing; every path ends with a test.

# %% [markdown]
# ## What is there?
#
# `dir` returns the names in a module as a sorted list of strings.
# Names that begin and end with two underscores, such as `__file__`, belong to Python's own machinery.
# Names that begin with one underscore are private: they may change or go without notice.
# What remains is the public interface, and with it what the module itself has imported, such as `sys` in `torch`.
# If a module has a list `__all__`, it names what is meant for you.

# %%
def public_names(module):
    """Sorted names in `module` that do not begin with an underscore."""
    return [n for n in dir(module) if not n.startswith("_")]


names = public_names(torch.distributions)
print(names[:6])

# %%
# check 2.7-C1: the module of distributions has the normal one
assert "Normal" in dir(torch.distributions)

# %%
# check 2.7-C6: public names, all of them and nothing else
toy = types.ModuleType("toy")
toy.b, toy.a, toy._private, toy.c_, toy.__about__ = range(5)
assert public_names(toy) == ["a", "b", "c_"]
for module in (torch, nn, F, torch.distributions):
    assert set(dir(module)) - set(public_names(module)) == {
        name for name in vars(module) if name[0] == "_"}
assert "sys" in public_names(torch) and "sys" not in torch.__all__
assert set(torch.__all__) <= set(public_names(torch))

# %% [markdown]
# A list of names can be searched, and often only the name was missing.
# Which loss functions does PyTorch have?
# Classes that compute a loss end in `Loss`:

# %%
losses = [n for n in public_names(nn) if n.endswith("Loss")]
print([n for n in losses if n < "D"])
assert {"CrossEntropyLoss", "MSELoss", "L1Loss"} <= set(losses)
assert all(issubclass(getattr(nn, n), nn.Module) for n in losses)

# %% [markdown]
# Those are the ones up to the letter C; a new release may add more.
# Conventions help to guess: in `torch.nn`, names with a capital are classes that hold settings and parameters, and most have a twin in `torch.nn.functional` in small letters, which is a plain function.

# %% [markdown]
# ## What does it take?
#
# In a notebook, `F.cross_entropy?` opens the documentation of a function and `F.cross_entropy??` its source.
# In any Python program, `help(F.cross_entropy)` prints the first.
# Both read the *docstring*, the text below the first line of the definition:

# %%
lines = inspect.getdoc(torch.ones).splitlines()
print(lines[0][:60], "...")
print(lines[2][:65], "...")

# %% [markdown]
# The quickest answer is often the *signature*: the arguments with their defaults.

# %%
signature = inspect.signature(F.cross_entropy)
for parameter in signature.parameters.values():
    print(parameter.name, "=", None if parameter.default is inspect._empty
          else parameter.default)

# %% [markdown]
# The default of `reduction` says that the result is a mean over the batch, not a sum and not a list.
# Because it is a mean, losses of batches of different sizes can be compared; sums could not.
#
# Not everything has a signature.
# `torch.ones` is written in C++, and Python cannot look into it.
# The first line of the docstring, printed above, has to take its place.

# %%
# check 2.7-C4: built-in functions have no signature, Python functions do
try:
    inspect.signature(torch.ones)
    refused = False
except ValueError as error:
    refused = True
    print(error)
assert refused
assert signature.parameters["reduction"].default == "mean"

# %% [markdown]
# ## What does it do?
#
# If a function is written in Python, its source is the most exact documentation there is.
# What does a fully connected layer compute?

# %%
source = inspect.getsource(nn.Linear.forward)
print(source.splitlines()[-1].strip())

# %%
# check 2.7-C3: the layer is a call of F.linear
assert "F.linear" in source

# %% [markdown]
# One line, and it leads on to `F.linear`, which is built in.
# There reading ends and testing begins.
#
# A *quick test* has three parts: an input whose answer you know, the call, a comparison.
# What does `torch.ones(4)` make?
# Its docstring says: a tensor filled with 1.

# %%
# check 2.7-C2: a quick test
assert torch.equal(torch.ones(4), torch.tensor([1.0, 1, 1, 1]))
assert torch.ones(4).dtype == torch.float32  # not integers

# %% [markdown]
# A better test asks something that you could have got wrong.
# Does `F.linear(x, W)` multiply by $\mathbf{W}$ or by $\mathbf{W}^\top$?
# Take a matrix that is not square, and the wrong answer cannot look right:

# %%
W = torch.tensor([[1.0, 2], [3, 4], [5, 6]])  # (3, 2)
x = torch.tensor([1.0, 10])                   # (2,)
print(F.linear(x, W))
assert torch.equal(F.linear(x, W), W @ x)          # (3,)
assert torch.equal(F.linear(x[None], W), x[None] @ W.T)  # rows: (1, 3)

# %% [markdown]
# A layer thus stores its weights with one *row* for each output, a detail that three lines settle.

# %% [markdown]
# ## Defaults that matter
#
# Most calls leave most settings at their defaults, so the defaults are part of the program.
# Two optimizers, which update the parameters of a network, look alike and behave differently:

# %%
def default(function, name):
    """Default value of a parameter."""
    return inspect.signature(function).parameters[name].default


for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    print(f"{optimizer.__name__:6} lr = {default(optimizer, 'lr')}, "
          f"weight_decay = {default(optimizer, 'weight_decay')}")

# %%
# check 2.7-C5: AdamW shrinks the weights unless told otherwise
assert default(torch.optim.SGD, "lr") == 0.001
assert default(torch.optim.SGD, "weight_decay") == 0
assert default(torch.optim.AdamW, "weight_decay") == 0.01

# %% [markdown]
# Replacing `Adam` by `AdamW` therefore does more than change the method: in each step AdamW also shrinks the weights by a small fraction.
# This *decoupled weight decay* is not the same as a penalty on the size of the weights in the loss, as [Section 3.7](../03-linear-regression/07-weight-decay.ipynb) shows.
# And `SGD` had no default for `lr` in older versions; a program that forgets it used to stop and now runs with 0.001.
#
# Defaults and names change with versions, so documentation is documentation *of a version*.
# `torch.__version__` tells yours, the web pages have a menu for theirs, and the release notes list what changed.
# A function that will disappear is *deprecated*: it still works and warns.
# In this book such a warning stops the build: what is deprecated today may be gone in the next release.

# %% [markdown]
# ## Reading an error message
#
# Python prints the chain of calls, the *traceback*, in the order in which they happened, and the error last.
# Read it from the bottom:
#
# 1. the last line says *what* went wrong, with the values;
# 2. the lowest line of the traceback that is in *your* file says where your program entered the library; the cause is there, or in what was prepared before;
# 3. everything between the two is the library on its way to noticing.
#
# Here is a network with a slip in it.

# %%
net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(32, 10))


def run(batch):
    return net(batch)


try:
    run(torch.ones(8, 20))
except RuntimeError as error:
    frames = traceback.extract_tb(error.__traceback__)
    mine, last = frames[1], frames[-1]
    print("calls:", frames[0].name, ">", mine.name, "> ... >", last.name)
    print("error:", error)

# %% [markdown]
# The last line names two shapes, $8\times64$ and $32\times10$.
# The first is a batch of 8 rows with 64 features, what came out of the first layer.
# The second is the transposed weight of a layer that expects 32 features.
# The traceback leads to the call `net(batch)`, and the slip is earlier, where `net` was built: somebody changed one number and forgot the other.
#
# If the message does not suffice, build a *minimal reproducible example*: delete everything that the error does not need, until a few lines are left that show it.
# Often the cause becomes visible on the way.
# If not, you have something that others can run.

# %%
layer = nn.Linear(32, 10)  # all that is left of the program
try:
    layer(torch.ones(8, 64))
    same = False
except RuntimeError as error:
    same = "8x64 and 32x10" in str(error)
assert same
assert mine.name == "run" and "Linear" not in mine.line
assert last.name == "forward" and "torch" in last.filename

# %% [markdown]
# ## Whom to believe
#
# Answers found in forums, blogs and books, or given by a language model, have one thing in common: they were written for some version, and may not have been run.
# Many are right.
# To know, test them: an input whose answer you can compute by hand, the call, a comparison.
#
# Here is a claim to test: "`F.softmax` works along the last axis by default."
# Compare the result without an axis with those for each axis, for a matrix and for a tensor with three axes:

# %%
print("default of dim:", default(F.softmax, "dim"))
scores = torch.arange(24.0).reshape(2, 3, 4).sin()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name, s in (("matrix", scores[0]), ("three axes", scores)):
        same = [a for a in range(s.dim())
                if torch.equal(F.softmax(s), F.softmax(s, dim=a))]
        print(f"{name}: axis {same[0]} of {s.dim()}")
        assert same == ([1] if s.dim() == 2 else [0])
assert "Implicit dimension choice" in str(caught[0].message)

# %% [markdown]
# The default is no axis at all; PyTorch then guesses from the number of axes, and warns.
# So the claim is true for a matrix by chance, and false for three axes, where the guess is axis 0.

# %% [markdown]
# ## Summary
#
# - `dir` lists names, `inspect.signature` arguments and defaults, `inspect.getdoc` the description, `inspect.getsource` the code of what is written in Python.
# - Functions written in C++ often have neither a signature nor a source that Python can show; their docstring and a test remain.
# - Defaults are part of a program: `cross_entropy` averages, `AdamW` decays weights.
# - An error message is read from the bottom: what, then where your own code called; the cause is there or before.
# - A quick test needs an input that could reveal the wrong answer, such as a matrix that is neither square nor symmetric.

# %% [markdown]
# ## Exercises
#
# ### Exercise 2.7-1
#
# Which of the loss classes in `torch.nn` accept `reduction="none"`, so that they can return one loss for each example?
# Find out by program.

# %% [markdown]
# #### Solution 2.7-1

# %% [markdown]
# A loss that can do so has a parameter `reduction`.
# To be sure, we also construct each of them with the argument; where others are required, any number will do.
# Among those without it is `AdaptiveLogSoftmaxWithLoss`, which is a layer and a loss in one, and always returns both the outputs and their mean.

# %%
accepts = [n for n in losses
           if "reduction" in inspect.signature(getattr(nn, n)).parameters]
for name in accepts:
    parameters = inspect.signature(getattr(nn, name)).parameters.values()
    needed = {p.name: 4 for p in parameters if p.default is p.empty
              and p.kind is p.POSITIONAL_OR_KEYWORD}
    loss = getattr(nn, name)(**needed, reduction="none")
    assert loss.reduction == "none"
assert "AdaptiveLogSoftmaxWithLoss" not in accepts
assert {"CrossEntropyLoss", "MSELoss", "L1Loss", "NLLLoss"} <= set(accepts)
each = nn.MSELoss(reduction="none")(torch.zeros(3), torch.arange(3.0))
assert each.tolist() == [0, 1, 4]

# %% [markdown]
# ### Exercise 2.7-2
#
# How does `nn.Linear` choose its initial weights?
# Find it in the source, and check your reading on a layer with $d=100$ inputs.

# %% [markdown]
# #### Solution 2.7-2

# %% [markdown]
# `reset_parameters` calls `kaiming_uniform_` with `a=math.sqrt(5)`.
# The comment in the source says what this amounts to: uniform between $-1/\sqrt d$ and $1/\sqrt d$, where $d$ is the number of inputs.
# The largest of many weights comes close to the bound and does not exceed it.

# %%
source = inspect.getsource(nn.Linear.reset_parameters)
assert "kaiming_uniform_" in source and "sqrt(5)" in source
torch.manual_seed(0)
size = nn.Linear(100, 1000).weight.abs()
assert 0.099 < size.max() <= 1 / 100**0.5
shares = [(size < t).float().mean() for t in (0.025, 0.05, 0.075)]
torch.testing.assert_close(torch.stack(shares), torch.tensor(
    [0.25, 0.5, 0.75]), rtol=0, atol=0.01)  # uniform

# %% [markdown]
# ### Exercise 2.7-3
#
# Find the function that returns the different values of a tensor together with how often each one occurs, and test it.

# %% [markdown]
# #### Solution 2.7-3

# %% [markdown]
# A search for "unique" in the names finds it; its docstring mentions `return_counts`.

# %%
print([n for n in public_names(torch) if "unique" in n])
assert "return_counts" in inspect.getdoc(torch.unique)
values, counts = torch.unique(torch.tensor([3, 1, 3, 3, 7]),
                              return_counts=True)
assert values.tolist() == [1, 3, 7] and counts.tolist() == [1, 3, 1]

# %% [markdown]
# ### Exercise 2.7-4
#
# A program ends with this traceback.
# Which line is to be changed, and which shape is wrong?
#
# ```text
# Traceback (most recent call last):
#   File "train.py", line 31, in <module>
#     loss = F.mse_loss(model(X), y.T)
#   File ".../torch/nn/functional.py", line 3884, in mse_loss
#     expanded_input, expanded_target = torch.broadcast_tensors(input, target)
#   File ".../torch/functional.py", line 77, in broadcast_tensors
#     return _VF.broadcast_tensors(tensors)
# RuntimeError: The size of tensor a (3) must match the size of tensor b (32) at non-singleton dimension 1
# ```

# %% [markdown]
# #### Solution 2.7-4

# %% [markdown]
# The last line that is in `train.py` is line 31.
# The message says that axis 1 has size 3 in the predictions and 32 in the targets.
# With a batch of 32 examples and three outputs, the predictions have shape $(32,3)$ and the targets, transposed by mistake, $(3,32)$.
# Without `.T` the program is right, as the reconstruction shows.

# %%
prediction, y = torch.zeros(32, 3), torch.ones(32, 3)
try:
    torch.broadcast_tensors(prediction, y.T)
    message = ""
except RuntimeError as error:
    message = str(error)
wrong_shape = (3, 32)
for part in ("tensor a (3)", "tensor b (32)", "dimension 1"):
    assert part in message
assert tuple(y.T.shape) == wrong_shape
assert F.mse_loss(prediction, y) == 1

# %% [markdown]
# ## Sources
#
# - PyTorch, [documentation](https://docs.pytorch.org/docs/stable/index.html), with a menu of versions, and [release notes](https://github.com/pytorch/pytorch/releases).
# - Python documentation, [inspect](https://docs.python.org/3/library/inspect.html): signatures, sources, docstrings.
# - Python documentation, [Errors and exceptions](https://docs.python.org/3/tutorial/errors.html): how a traceback is read.
# - I. Loshchilov, F. Hutter (2019). Decoupled weight decay regularization. [arXiv:1711.05101](https://arxiv.org/abs/1711.05101): what distinguishes AdamW from Adam.
