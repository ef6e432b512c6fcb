# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         vector_length: 1000000
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
# # 0.3 Setting up and checking your environment
#
# Is everything that you need installed, and does it compute?
# An installation that only imports proves little.
# This section installs the book, looks at what is there, and then lets a program of ten lines learn something whose answer we know.

# %% [markdown]
# **You will**
#
# - install the book into an environment of its own, and open a notebook;
# - say which versions, which device and which number type your computations use;
# - make random numbers that you can repeat, and that do not depend on which cells ran before;
# - prove your environment by training a line, and find the learning rate at which training breaks.
#
# **Cost**: a few seconds on a CPU; nothing to download beyond the packages, no use for a GPU.

# %% [markdown]
# ## Installing
#
# You need Python 3.11 or newer and the program `make`.
# The book is a folder: the file `book.zip`, which the page Download of the site gives, unpacks into it.
# In this folder, two commands do the rest:
#
# ```sh
# make env     # an environment in .venv, with the versions that the book was checked with
# make lab     # JupyterLab, opened on the book
# ```
#
# The environment is *virtual*: a folder with its own packages, which nothing else on your machine sees, and which disappears when you delete it.
# Without `make`, the same steps by hand are
#
# ```sh
# python -m venv .venv
# .venv/bin/python -m pip install -e '.[book]'
# .venv/bin/python -m jupyter lab
# ```
#
# On Linux, pip installs the PyTorch that can use an NVIDIA GPU, several gigabytes.
# If you have none, `make env TORCH=cpu` takes the small one; all of the first five chapters run on a CPU.
# With conda, `conda env create -f environment.yml` gives the same packages.
#
# If something is wrong, ask
#
# ```sh
# make doctor
# ```
#
# It lists what is installed, which device and which data sets there are, what would be downloaded, and what to do about anything that is amiss.
#
# ### Two files for each section
#
# Every section exists twice.
# The `.ipynb` file is a notebook as Jupyter stores it, with all outputs and figures.
# The `.py` file beside it has the same cells as plain text, without outputs; the tool *jupytext* lets JupyterLab open it as a notebook too.
# People edit the text file, because changes in it can be read and compared; the notebook is made from it.
# To experiment, take either.
#
# ![Two boxes side by side. On the left the text file, section.py: all cells, no outputs, for editing and comparing. On the right the notebook, section.ipynb: the same cells, with outputs and figures. An arrow from left to right says make pair. Below both is JupyterLab, started by make lab, with an arrow to each: it opens either.](img/two-files.svg)
#
# **Figure 0.3.1.** A section as text and as a notebook.
# The cells are the same; only the notebook keeps what they print and draw.
#
# ### One notebook alone
#
# A notebook that you save from the site, with the link below the title of its section, runs in any folder.
# What it needs besides is one package, the wheel of the helper, which brings everything that notebooks import; the page Download has it, with the command that installs it.
# The first cell of such a notebook looks for the helper and says what to do if it is missing.
#
# ### In a hosted service
#
# A notebook service in the cloud knows nothing of this book.
# Upload a notebook and the wheel, and the first cell of the notebook says, or does, the rest.
# To have the whole book there, copy its folder, and install it in the first cell of a new notebook:
#
# ```python
# %pip install -q -e .
# ```
#
# Then restart the kernel, and every notebook of the book runs as it does at home, usually with a GPU at hand.

# %% [markdown]
# ## What is there
#
# All notebooks start like this one: the imports, then the style of the figures.

# %%
import math
import os
import platform
import random

import numpy as np
import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Timer

d2l.use_style()

# %% tags=["parameters"]
vector_length = 5_000_000  # entries of the vectors in Exercise 0.3-3

# %% [markdown]
# Versions matter: a default that changed between two releases is a frequent reason why a program does something else elsewhere.
# Print them whenever you report a problem.

# %% tags=["timing"]
print("Python", platform.python_version())
print("PyTorch", torch.__version__.split("+")[0])  # after +, the build
print("NumPy", np.__version__)
print("threads", torch.get_num_threads())

# %%
# check 0.3-C4: PyTorch is version 2 or newer
assert int(torch.__version__.split(".")[0]) >= 2

# %% [markdown]
# Numbers in deep learning are usually stored in 32 bits, about seven decimal digits.
# They take half the memory of Python's own floats, and seven digits are usually enough, since the data are noisy anyway.

# %%
# check 0.3-C1: the default type of a real number has 32 bits
print(torch.tensor(1.0).dtype)
assert torch.get_default_dtype() is torch.float32

# %% [markdown]
# A computation runs on a *device*.
# `cpu` is the ordinary processor with all its cores; `cuda` is a GPU by NVIDIA or AMD, `mps` that of a Mac, `xpu` one by Intel.
# `d2l.try_device` returns the best one that is there, and says so once.
# If you want another one, set the environment variable `D2L_DEVICE` before you start Jupyter, for example `D2L_DEVICE=cpu`.

# %% tags=["timing"]
device = d2l.try_device()

# %% [markdown]
# Code that asks in this way runs on all of them.
# The tensor below is made on the device that was found, and its entries come back as ordinary numbers.

# %%
squares = torch.arange(5, device=device) ** 2
assert squares.tolist() == [0, 1, 4, 9, 16]

# %% [markdown]
# ## Random numbers that can be repeated
#
# Training uses random numbers everywhere, yet an experiment should give the same result twice.
# A *generator* makes both possible: from a *seed* it computes a sequence of numbers that look random, and from the same seed the same sequence again.
#
# Python, NumPy and PyTorch each have a global generator, and three calls set their seeds.
# The following function makes these calls, and returns a generator of its own.

# %% tags=["export"]
def set_seed(seed):
    """Seed Python, NumPy and PyTorch; returns a new generator too.

    `seed` is an integer from 0 to 2**32 - 1. The generator, on the CPU,
    starts from the same seed and is independent of the global ones.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)

# %%
# check 0.3-C2: one seed, the same draws; another seed, other draws
first = torch.randn(4, generator=set_seed(1))
again = torch.randn(4, generator=set_seed(1))
other = torch.randn(4, generator=set_seed(2))
assert torch.equal(first, again)
assert not torch.equal(first, other)
same = torch.Generator().manual_seed(1)  # it starts from this seed
assert torch.equal(first, torch.randn(4, generator=same))

def global_draws(seed):
    """One number from each of the three global generators."""
    set_seed(seed)
    return random.random(), np.random.rand(), torch.rand(()).item()

for a, b, c in zip(global_draws(1), global_draws(1), global_draws(2)):
    assert a == b != c

# %% [markdown]
# A global generator has a weakness in notebooks: its state depends on every cell that has run.
# Run one cell twice, and all later numbers change.
# A generator object that is made in the cell that uses it does not have this weakness.
# The book therefore passes `generator=` wherever it can; Exercise 0.3-2 shows the difference.

# %% [markdown]
# ## A program that learns
#
# Now the test of the installation.
# We take 20 points on the line $y=2x+1$, hide the numbers 2 and 1 from the program, and let it find them.
# It starts with the line $\hat y=wx+b$ with $w=b=0$ and measures how wrong it is by
#
# $$
# L(w,b) = \frac{1}{2n}\sum_{i=1}^{n}\left(wx_i+b-y_i\right)^2, \tag{0.3.1}
# $$
#
# where $n=20$ is the number of points, $x_i$ and $y_i$ are the coordinates of point $i$, and $w$ and $b$ are numbers.
# Then it repeats one step: change both numbers a little in the direction in which the loss falls,
#
# $$
# w \leftarrow w-\eta\,\frac{\partial L}{\partial w}, \qquad b \leftarrow b-\eta\,\frac{\partial L}{\partial b}, \tag{0.3.2}
# $$
#
# where $\eta$ is the *learning rate*, the size of the step.
# PyTorch computes the two derivatives; how it does that, and why the step is a good one, is the subject of Chapters 2 and 3.
# Read the code for its shape: forward, loss, gradient, update.

# %%
def fit_line(x, y, lr, steps):
    """Slope and intercept of points x, y (n,), and the losses (steps,)."""
    w = torch.zeros((), requires_grad=True)
    b = torch.zeros((), requires_grad=True)
    losses = []
    for _ in range(steps):
        loss = (w * x + b - y).square().mean() / 2
        grad_w, grad_b = torch.autograd.grad(loss, (w, b))
        with torch.no_grad():
            w -= lr * grad_w
            b -= lr * grad_b
        losses.append(loss.item())
    return w.item(), b.item(), losses

# %%
# check 0.3-C3: a hundred steps find slope 2 and intercept 1
x = torch.linspace(-1, 1, 20)  # (20,)
y = 2 * x + 1                  # (20,)
w, b, losses = fit_line(x, y, lr=0.5, steps=100)
print(f"w = {w:.4f}, b = {b:.4f}")
assert abs(w - 2) < 1e-4 and abs(b - 1) < 1e-4
assert math.isclose(losses[0], y.square().mean() / 2, rel_tol=1e-6)

# %% [markdown]
# Nobody told the program the two numbers; it found them from the points.
# The figure shows how: on a logarithmic axis the loss soon falls along a straight line, so each step removes the same *fraction* of what is left.

# %%
ax = d2l.plot(range(1, 41), losses[:40], xlabel="step", ylabel="loss",
              yscale="log")
d2l.describe(ax, "The loss of the first forty steps on a logarithmic axis: "
             "a short steep start, then a straight line down over many "
             "powers of ten.")

# %% [markdown]
# **Figure 0.3.2.** The loss of the little program on a logarithmic axis.
# After the first steps it is a straight line: geometric convergence.

# %% [markdown]
# The slope of this line can be predicted.
# For points whose mean is 0, the second derivatives of $L$ are $\overline{x^2}=\frac1n\sum_i x_i^2\approx0.368$ for $w$ and 1 for $b$, and the two do not influence each other.
# A step multiplies the error of $w$ by $1-0.368\,\eta$ and that of $b$ by $1-\eta$.
# With $\eta=0.5$ the error of $w$ shrinks by the factor 0.816 a step, and the loss, its square, by 0.666.
# That of $b$ shrinks faster, which explains the steep start.

# %%
curvature = x.square().mean().item()
ratio = losses[20] / losses[19]
print(f"mean of x squared {curvature:.3f}, the loss shrinks by {ratio:.3f}")
assert abs(curvature - 0.368) < 5e-4
assert abs(ratio - (1 - 0.5 * curvature) ** 2) < 1e-3

# %% [markdown]
# If all cells above ran, your environment can draw, differentiate and learn.

# %% [markdown]
# ## Summary
#
# - `make env` installs, `make lab` opens, `make doctor` says what is wrong; the `.py` file is the text, the `.ipynb` file has the outputs.
# - Code that asks `d2l.try_device()` for its device runs on a laptop and on a GPU.
# - A generator object that is made where it is used gives results that do not depend on the cells before.
# - Training is a loop: forward, loss, gradient, update. For a line it converges geometrically, at a rate that can be computed beforehand.

# %% [markdown]
# ## Exercises
#
# ### Exercise 0.3-1
#
# Break the program.
# Increase the learning rate until 100 steps no longer find the line, and predict the threshold from the factors by which a step multiplies the two errors.

# %% [markdown]
# #### Solution 0.3-1

# %% [markdown]
# A step multiplies the error of $b$ by $1-\eta$, and this is the larger of the two second derivatives.
# It stays below 1 in absolute value for $\eta<2$, in general for $\eta<2/\lambda_{\max}$, where $\lambda_{\max}$ is the largest second derivative.
# At $\eta=1.8$ the error of $b$ changes its sign in each step and shrinks by 0.8; at $\eta=2.2$ it grows by 1.2.

# %%
for lr in (1.8, 2.2):
    w, b, _ = fit_line(x, y, lr=lr, steps=100)
    print(f"lr = {lr}: b = {b:.4g}")
    if lr < 2:
        assert abs(w - 2) < 1e-4 and abs(b - 1) < 1e-4
    else:
        assert abs(b) > 1e3

# %% [markdown]
# ### Exercise 0.3-2
#
# Show that an additional call of `torch.rand` in an earlier cell changes later draws from the global generator, but not those from a generator object.

# %% [markdown]
# #### Solution 0.3-2

# %% [markdown]
# The function below plays the notebook: a seed at the top, perhaps one more cell, then the cell that matters.

# %%
def notebook(extra_cell):
    own = set_seed(3)  # the first cell
    if extra_cell:
        torch.rand(1)
    return torch.rand(2), torch.rand(2, generator=own)

shared, private = notebook(extra_cell=False)
shared_now, private_now = notebook(extra_cell=True)
assert not torch.equal(shared, shared_now)
assert torch.equal(private, private_now)

# %% [markdown]
# ### Exercise 0.3-3
#
# Time the addition of two long vectors with one thread and with all threads.
# Then do it with short vectors.
# Why is the answer not the number of your cores?

# %% [markdown]
# #### Solution 0.3-3

# %% [markdown]
# Two things stand in the way.
# Waking threads and waiting for the last one costs some microseconds, more than the whole addition of a short vector; PyTorch therefore does not even try below [32 768 entries](https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/TensorIterator.h).
# And an addition does one operation for three numbers that pass between memory and processor, so for long vectors the cores wait for the memory they share, and more of them help only until its bandwidth is used up.
# A product of matrices does many operations on each number and is less limited by this.
#
# The notebook may have been started with fewer threads than there are cores, so the cell sets their number itself, two at least.

# %% tags=["timing"]
before, cores = torch.get_num_threads(), max(2, os.cpu_count() or 2)
for length in (1000, vector_length):
    u, v = torch.ones(length), torch.ones(length)
    for threads in (1, cores):
        torch.set_num_threads(threads)
        u + v  # warm up
        timer = Timer()
        for _ in range(20):
            u + v
        each = timer.stop() / 20
        print(f"length {length}, threads {threads}: {each * 1e6:.0f} us")
torch.set_num_threads(before)

# %% [markdown]
# ## Sources
#
# - PyTorch documentation, [reproducibility](https://docs.pytorch.org/docs/stable/notes/randomness.html) and [torch.Generator](https://docs.pytorch.org/docs/stable/generated/torch.Generator.html): what a seed fixes.
# - PyTorch documentation, [torch.accelerator](https://docs.pytorch.org/docs/stable/accelerator.html): devices.
# - [Jupytext](https://jupytext.readthedocs.io/): notebooks as text.
# - B. T. Polyak (1964). Some methods of speeding up the convergence of iteration methods. [doi:10.1016/0041-5553(64)90137-5](https://doi.org/10.1016/0041-5553(64)90137-5): the rate of gradient descent on a quadratic, and its limit $2/\lambda_{\max}$.
