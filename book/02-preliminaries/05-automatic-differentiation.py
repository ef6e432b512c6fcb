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
# # 2.5 Automatic differentiation
#
# Training needs derivatives, and a network has millions of parameters.
# They are not derived by hand: PyTorch records what a program computes, and then runs the chain rule backwards through the record.
# This section shows how to ask for a gradient, builds a small engine that does the same, and collects the errors that most people make once.

# %% [markdown]
# **You will**
#
# - get the gradient of any tensor program, with one call;
# - build an engine for single numbers, and follow it step by step;
# - say what `backward` computes when the result is not a single number;
# - recognize the usual errors, and know the cause of each.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import math
import random
import warnings

import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import Timer
from d2l_helpers.chapters.preliminaries import numerical_gradient

d2l.use_style()

# %% [markdown]
# ## A first gradient
#
# Take the function $y=2\mathbf{x}^\top\mathbf{x}$ of a vector $\mathbf{x}\in\mathbb{R}^4$.
# By the rules of [Section 2.4](04-calculus.ipynb) its gradient is $4\mathbf{x}$.
# PyTorch must know that we want derivatives with respect to `x`, so it can record what happens to it:

# %%
x = torch.arange(4.0, requires_grad=True)  # or x.requires_grad_(True)
print(x, x.grad)

# %% [markdown]
# The attribute `grad` is where the gradient will be put; it is `None` as long as there is none.
# Now compute, and look at the result:

# %%
y = 2 * torch.dot(x, x)
print(y)

# %% [markdown]
# The value is 28, and it carries a `grad_fn`, a record of how it came about.
#
# ![The graph of y = 2 x·x for x = (0, 1, 2, 3). On the left x; two arrows lead to the node dot, with the value 14; from there an arrow to the node times 2, with the value 28. Backwards, in orange: 1 at y, 2 at the dot product, and two contributions of 2x each at x, together 4x.](img/graph-dot.svg)
#
# **Figure 2.5.1.** Forward values in blue above the arrows, backward gradients in orange below.
# Two contributions of $2\mathbf{x}$ add up to $4\mathbf{x}$.
#
# The call `y.backward()` follows the records back to `x`:

# %%
# check 2.5-C1: the value and the gradient 4x
y.backward()
print(x.grad)
assert y.item() == 28
assert x.grad.tolist() == [0, 4, 8, 12] and torch.equal(x.grad, 4 * x)

# %% [markdown]
# Each call of `backward` *adds* to `grad`.
# A second function of the same `x` therefore gives the sum of both gradients, unless we reset it in between:

# %%
# check 2.5-C2: gradients accumulate until they are reset
x.sum().backward()
print("without reset:", x.grad)
assert x.grad.tolist() == [1, 5, 9, 13]

x.grad = None  # or x.grad.zero_()
x.sum().backward()
print("with reset:   ", x.grad)
assert x.grad.tolist() == [1, 1, 1, 1]

# %% [markdown]
# This looks like a trap, and often it is one.
# It is also useful: a batch that is too large for the memory can be processed in parts whose gradients add up ([Section 5.3](../05-multilayer-perceptrons/03-backpropagation.ipynb)).
# So a training loop has the same three steps again and again: reset, `backward`, update.

# %% [markdown]
# ## How it works
#
# While the program runs, PyTorch builds a *computational graph*.
# Each operation becomes a node that remembers its inputs and what it needs for its derivative.
# To differentiate, it visits the nodes in reverse order and applies the chain rule at each:
#
# $$
# \frac{\partial y}{\partial v} = \sum_{u\,:\,v\text{ is an input of }u} \frac{\partial y}{\partial u}\,\frac{\partial u}{\partial v}, \tag{2.5.1}
# $$
#
# where $y$ is the result and $u$, $v$ are values computed on the way, all numbers here.
# The sum runs over all nodes that use $v$, and this is the subtle point: a value that is used twice, like `x` in Figure 2.5.1, receives two contributions, which are added.
# That addition is the chain rule.
# That `grad` also adds up from one call of `backward` to the next is something else, a decision of those who designed PyTorch.
#
# The graph is not drawn in advance.
# It is rebuilt at each run, so loops and branches of Python need no special treatment.
# We can look at it through the attribute `next_functions`:

# %%
def show_graph(node, depth=0):
    """Print the nodes that lead to a result, indented by depth."""
    print("  " * depth + type(node).__name__.removesuffix("0"))
    for before, _ in node.next_functions:
        if before is not None:
            show_graph(before, depth + 1)

x = torch.arange(4.0, requires_grad=True)
show_graph((2 * torch.dot(x, x)).grad_fn)

# %% [markdown]
# Read it from the top: a multiplication, fed by a dot product, fed twice by the same `x`, a *leaf* of the graph, in which gradients are accumulated.

# %% [markdown]
# ### An engine of our own
#
# To trust a machine, build one.
# Ours takes two cells and works on single numbers.
# A `Value` holds its number, its gradient, the values that it was computed from, and for each of them the derivative of the operation, a number that is known as soon as the operation is done.

# %% tags=["export"]
class Value:
    """A number that remembers how it was computed.

    After `y.backward()` every value that led to y has the derivative of
    y with respect to it in `grad`; repeated calls add up.
    """

    def __init__(self, data, inputs=(), slopes=(), op=""):
        self.data, self.grad, self.op = float(data), 0.0, op
        self.inputs, self.slopes = inputs, slopes  # slopes: d self/d input

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0), "+")

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other),
                     (other.data, self.data), "*")

    def __pow__(self, n):
        return Value(self.data**n, (self,),
                     (n * self.data ** (n - 1),), f"**{n}")

    def exp(self):
        e = math.exp(self.data)
        return Value(e, (self,), (e,), "exp")

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,), "log")

    def tanh(self):
        t = math.tanh(self.data)
        return Value(t, (self,), (1 - t * t,), "tanh")

    def relu(self):
        return Value(max(self.data, 0.0), (self,),
                     (float(self.data > 0),), "relu")

    __radd__, __rmul__ = __add__, __mul__

# %% [markdown]
# What remains is the walk backwards.
# A node may be visited only after all nodes that use it, since its gradient must be complete.
# An order with this property is called *topological*; it is found by listing a node after all of its inputs, and is then read from the end.

# %% tags=["export"]
def topological_order(result):
    """Every value that leads to `result`, each one after its inputs."""
    order, seen = [], set()

    def visit(node):
        if id(node) not in seen:
            seen.add(id(node))
            for before in node.inputs:
                visit(before)
            order.append(node)

    visit(result)
    return order


def backpropagate(self):
    """Add the derivative of this value to `grad` of all behind it."""
    upstream = {id(self): 1.0}
    for node in reversed(topological_order(self)):
        g = upstream[id(node)]
        node.grad += g
        for before, slope in zip(node.inputs, node.slopes):
            upstream[id(before)] = upstream.get(id(before), 0.0) + g * slope


Value.backward = backpropagate

# %% [markdown]
# The two additions are kept apart here: `upstream` adds the contributions within one walk, `grad` adds up over the calls.
#
# That is all.
# We try it on $y=(a+b)\,b+\tanh(a)$ at $a=0.5$, $b=2$, where by hand $\partial y/\partial a=b+1-\tanh^2a$ and $\partial y/\partial b=a+2b$.

# %%
a, b = Value(0.5), Value(2.0)
y = (a + b) * b + a.tanh()
y.backward()
print(f"y = {y.data:.4f}, dy/da = {a.grad:.4f}, dy/db = {b.grad:.4f}")
assert math.isclose(a.grad, 2 + 1 - math.tanh(0.5) ** 2)
assert math.isclose(b.grad, 0.5 + 2 * 2)
y.backward()  # once more: the gradients add up
assert math.isclose(b.grad, 2 * (0.5 + 2 * 2))
assert (2 + 3 * b).data == (b * 3 + 2).data == 8  # numbers on either side

# %% [markdown]
# Watch it at work.
# Each position of the slider is one step of the walk: the node in orange has a complete gradient and hands it on to its inputs.

# %% tags=["hide-input"]
spots = {"a": (0, 0), "b": (0, 2), "+": (1.2, 1.5), "*": (2.4, 1.5),
         "tanh": (1.2, 0), "+ ": (3.6, 0.8)}
chosen = ["a", "b", "+", "*", "tanh", "+ "]


def draw(fig, step):
    a, b = Value(0.5), Value(2.0)
    s = a + b
    m, t = s * b, a.tanh()
    nodes = dict(zip(chosen, (a, b, s, m, t, m + t)))
    name = {id(node): key for key, node in nodes.items()}
    walk = topological_order(nodes["+ "])[::-1]
    grads, ax = {id(walk[0]): 1.0}, fig.subplots()
    for node in walk[:int(step)]:
        for before, slope in zip(node.inputs, node.slopes):
            grads[id(before)] = (grads.get(id(before), 0)
                                 + grads[id(node)] * slope)
    if step == len(walk):  # our engine must get the same numbers
        walk[0].backward()
        assert all(math.isclose(grads[id(n)], n.grad) for n in walk)
    for key, node in nodes.items():
        x, y = spots[key]
        for before in node.inputs:
            u, v = spots[name[id(before)]]
            ax.annotate("", (x, y), (u, v), arrowprops={
                "arrowstyle": "->", "shrinkA": 17, "shrinkB": 17,
                "color": "#888888"})
        now = step < len(walk) and node is walk[int(step)]
        ax.text(x, y, key, ha="center", va="center", zorder=3, bbox={
            "boxstyle": "circle,pad=0.45", "ec": "#222222",
            "fc": "#f6c79f" if now else "#e6f1f8"})
        ax.text(x, y + 0.42, f"{node.data:.3g}", color="#0072B2",
                ha="center", fontsize=9)
        if id(node) in grads:
            ax.text(x, y - 0.58, f"{grads[id(node)]:.3g}", ha="center",
                    color="#B84F00", fontsize=9)
    ax.set(xlim=(-0.5, 4.1), ylim=(-0.9, 2.7))
    ax.axis("off")

# %%
d2l.sliders(draw, """The graph of y = (a + b) b + tanh a with the values
    above the nodes, and below them the gradients that are known at this
    step of the walk from the result back to a and b.""",
    figsize=(5.4, 3.0), step=range(7))

# %% [markdown]
# **Figure 2.5.2.** The walk backwards, with values in blue and gradients in orange.
# The inputs $a$ and $b$ are used twice, and their gradients are complete only after the second contribution.

# %% [markdown]
# Does our engine agree with PyTorch?
# We let a random program decide: it draws operations, applies them to both, and we compare the results.

# %%
def random_program(choose, a, b, c):
    """The same random expression for Values or for tensors."""
    values = [a, b, c]
    for _ in range(8):
        u, v = choose.choice(values), choose.choice(values)
        values.append(choose.choice((
            lambda: u + v, lambda: u * v, lambda: u.tanh(),
            lambda: (u * 0.3).exp(), lambda: u.relu() + v,
            lambda: (u**2 + 1.0).log()))())
    return values[-1] * values[-2] + values[-3]

# %%
# check 2.5-C8: our engine agrees with PyTorch on random expressions
for seed in range(20):
    numbers = [random.Random(seed).uniform(-2, 2) + k for k in range(3)]
    ours = [Value(v) for v in numbers]
    theirs = [torch.tensor(v, dtype=torch.float64, requires_grad=True)
              for v in numbers]
    for inputs in (ours, theirs):
        random_program(random.Random(seed), *inputs).backward()
    for v, t in zip(ours, theirs):
        expected = 0.0 if t.grad is None else t.grad.item()
        assert math.isclose(v.grad, expected, rel_tol=1e-6, abs_tol=1e-9)

# %% [markdown]
# What PyTorch adds is speed, tensors in place of numbers, some hundreds of operations, and care for memory.
# The idea is older than PyTorch.
# Wengert propagated derivatives of programs forwards in 1964.
# Linnainmaa, in a thesis of 1970 on rounding errors, was among the first to propagate them backwards; Speelpenning built a general compiler for it in 1980, and Griewank developed the theory in the 1980s.

# %% [markdown]
# ### Checking a gradient
#
# A derivative can be compared with a difference quotient ([Section 2.4](04-calculus.ipynb)).
# It is slow and not exact, but it needs nothing except the values of the function, so it does not share the mistakes of the backward pass.

# %%
def gradcheck(f, x, eps=1e-5, tol=1e-6):
    """Whether autograd and difference quotients of f agree at x.

    `x` is a float64 tensor of any shape and f(x) a single number.
    """
    x = x.detach().clone().requires_grad_(True)
    exact, = torch.autograd.grad(f(x), x)
    near = numerical_gradient(f, x.detach(), h=eps)
    return bool(((exact - near).abs() <= tol * (1 + exact.abs())).all())

# %%
# check 2.5-C11: a composite function, at two points
def f(x):
    return x.square().log() * x.sin() + 1 / x

for at, expected in ((1.0, 2 * math.sin(1) - 1), (2.0, 0.0823954)):
    point = torch.tensor(at, dtype=torch.float64)
    slope = torch.func.grad(f)(point).item()
    print(f"f'({at:g}) = {slope:.6f}")
    assert abs(slope - expected) < 1e-7
    assert gradcheck(f, point)
A = torch.randn(2, 3, dtype=torch.float64,
                generator=torch.Generator().manual_seed(3))
kept = A.clone()  # any shape, and the argument stays as it is
assert gradcheck(lambda A: (A.T @ A).exp().sum(), A)
assert torch.equal(A, kept) and A.grad is None and not A.requires_grad
assert abs(2 * math.sin(1) - 1 - 0.68294) < 1e-5

# %% [markdown]
# A test is worth something only if it can fail.
# In the next function a product has lost half of its derivative, because one factor counts as a constant (`detach` is explained below), and only for $x<-100$.
# `torch.autograd.gradcheck` is PyTorch's own test of this kind, for functions of several tensors with results of any shape.

# %%
# check 2.5-C11b: a wrong gradient is found, but only where it is wrong
def half_lost(x):
    return torch.where(x < -100, x * x.detach(), x * x)

for at in (2.0, -101.0):
    point = torch.tensor(at, dtype=torch.float64)
    ours = gradcheck(half_lost, point)
    theirs = torch.autograd.gradcheck(
        half_lost, point.clone().requires_grad_(), raise_exception=False)
    print(f"at {at:g}: ours {ours}, PyTorch's {theirs}")
    assert ours is theirs is (at > -100)
point = torch.tensor([2.0, -101.0], dtype=torch.float64)  # one of two
assert not gradcheck(lambda x: half_lost(x).sum(), point)
assert not gradcheck(lambda x: x**2 + 1e-4 * (x - x.detach()), point[0])

# %% [markdown]
# At 2 both tests are content with a function that is wrong.
# A comparison says something about the points that were tried, so try several, on every branch.

# %% [markdown]
# ## When the result is not a single number
#
# The derivative of a vector with respect to a vector is a matrix, the *Jacobian*, with an entry for each pair; that of a matrix with respect to a matrix has four axes.
# These objects are large, and training does not need them.
# It needs the gradient of a *single* number, the loss, that depends on them.
# So `backward` insists on one:

# %%
x = torch.arange(4.0, requires_grad=True)
y = x * x
try:
    y.backward()
    message = ""
except RuntimeError as error:
    message = str(error)
print(message)
assert "grad can be implicitly created only for scalar outputs" in message

# %% [markdown]
# Either reduce first, by `sum` or `mean`, or say with which weights $\mathbf{v}$ the entries should be added: `y.backward(gradient=v)` computes the gradient of $\mathbf{v}^\top\mathbf{y}$,
#
# $$
# \mathbf{J}^\top\mathbf{v}, \qquad J_{ij} = \frac{\partial y_i}{\partial x_j}, \tag{2.5.2}
# $$
#
# where $\mathbf{J}\in\mathbb{R}^{m\times n}$ is the Jacobian of $\mathbf{y}\in\mathbb{R}^m$ with respect to $\mathbf{x}\in\mathbb{R}^n$ and $\mathbf{v}\in\mathbb{R}^m$.
# The result has the shape of $\mathbf{x}$, and the matrix is never formed.
# It is called a *vector-Jacobian product*, and each step of the walk backwards is one.

# %%
# check 2.5-C3: sum, mean, and weights of our own
def gradient(reduce):
    x = torch.arange(4.0, requires_grad=True)
    reduce(x * x)
    return x.grad.tolist()

weights = torch.tensor([1.0, 10.0, 100.0, 1000.0])
assert gradient(lambda y: y.sum().backward()) == [0, 2, 4, 6]
assert gradient(lambda y: y.backward(gradient=torch.ones(4))) == [0, 2, 4, 6]
assert gradient(lambda y: y.mean().backward()) == [0, 0.5, 1, 1.5]
assert gradient(lambda y: y.backward(gradient=weights)) == [0, 20, 400, 6000]

# %% [markdown]
# ## Leaving things out
#
# Sometimes a value should count as a constant.
# `detach` returns a tensor with the same numbers and without a history.
# Take $z=xy$ with $y=x^2$ elementwise: the derivative is $3x^2$; if $y$ is detached, it is just $y$.

# %%
# check 2.5-C4: a detached factor is a constant
x = torch.arange(4.0, requires_grad=True)
u = (x * x).detach()
(u * x).sum().backward()
assert x.grad.tolist() == [0, 1, 4, 9] == u.tolist()

x.grad = None
((x * x) * x).sum().backward()
assert x.grad.tolist() == [0, 3, 12, 27] == (3 * x**2).tolist()

# %% [markdown]
# Whole blocks are left out by `with torch.no_grad():`, for example the update of parameters, which is not part of the model.
# `torch.inference_mode()` goes further and saves some bookkeeping.
# The price is that its tensors cannot be *saved* for a backward pass later: they may be added to something that needs a gradient, since a sum saves nothing, but not multiplied with it.
# Use the first inside training and the second for prediction.

# %%
w = torch.ones(3, requires_grad=True)
with torch.no_grad():
    inside = w * 2
with torch.inference_mode():
    faster = w * 2
print(inside.requires_grad, faster.requires_grad, faster.is_inference())
late = (inside * w).sum()  # allowed: inside is a constant here
late.backward()
assert w.grad.tolist() == [2, 2, 2]
w.grad = None
(faster + w).sum().backward()  # allowed too: a sum saves nothing
assert w.grad.tolist() == [1, 1, 1]
try:
    (faster * w).sum()  # would have to save an inference tensor
    allowed = True
except RuntimeError:
    allowed = False
assert not allowed

# %% [markdown]
# ## Loops and branches
#
# The graph is built by running, so it contains only what has run.
# This function doubles its argument, once at least and until it is large, and then takes one of two ways.
# How often it doubles depends on the argument.

# %%
def f(a):
    b = a * 2
    while torch.linalg.vector_norm(b) < 1000:
        b = b * 2
    return b if b.sum() > 0 else 100 * b

# %% [markdown]
# For each $a$ it multiplies by some number, so between its jumps it is linear, and its slope is $f(a)/a$.

# %%
# check 2.5-C5: slopes are powers of two, times 100 for negative numbers
def slope_of(a):
    a = torch.tensor(a, requires_grad=True)
    f(a).backward()
    return a.grad.item()

expected = {0.0412: 2**15, 0.5: 2048, -0.5: 204_800, 3.0: 512, -2.0: 51_200,
            500.0: 2, 3000.0: 2}  # 500: twice 500 is not below 1000
for a, wanted in expected.items():
    print(f"a = {a:6}: slope {slope_of(a):.0f}")
    assert slope_of(a) == wanted

# %%
# check 2.5-C7: a vector takes the way of its sum and its norm
a = torch.tensor([3.0, -1.0, 2.0], requires_grad=True)
f(a).sum().backward()
assert a.grad.tolist() == [512, 512, 512]

# %% [markdown]
# That slope and quotient are *equal* is nearly true.
# For positive $a$ they are, since multiplying by powers of two is exact.
# For negative $a$ the factor 100 is not a power of two, so $f(a)$ is rounded, and the quotient is off in the last digit for about one number in eight.
# Compare floats with a tolerance:

# %%
# check 2.5-C6: equal up to rounding; exactly equal only for positive a
rng = torch.Generator().manual_seed(1)
exact = {1: 0, -1: 0}
for a in (10 * torch.randn(600, generator=rng)).tolist():
    x = torch.tensor(a, requires_grad=True)
    d = f(x)
    d.backward()
    assert torch.allclose(x.grad, d.detach() / x.detach())
    exact[1 if a > 0 else -1] += int(x.grad == d / x)
positive = (10 * torch.randn(
    600, generator=torch.Generator().manual_seed(1)) > 0).sum().item()
share = exact[-1] / (600 - positive)
print("exactly equal for all positive a:", exact[1] == positive)
print("exactly equal for all negative a:", share == 1)
assert exact[1] == positive and 0.84 < share < 0.92

# %%
grid = torch.linspace(0.2, 20, 2000)
slopes = torch.tensor([slope_of(a) for a in grid.tolist()])
ax = d2l.plot(grid, slopes, xlabel="$a$", ylabel="slope of $f$",
              xscale="log", yscale="log")
ax.set_yscale("log", base=2)
d2l.describe(ax, "The slope of f over positive a, on logarithmic axes: a "
             "staircase down, in which each step halves the slope.")

# %% [markdown]
# **Figure 2.5.3.** The slope of $f$ for positive arguments.
# Where $a$ doubles, one doubling less is needed.

# %% [markdown]
# ## Beyond one gradient
#
# ### Second derivatives
#
# A derivative is computed by a program, so it can be differentiated too.
# `create_graph=True` asks PyTorch to record the walk backwards as well.

# %%
# check 2.5-C9: first and second derivative of x**3 at 2
x = torch.tensor(2.0, requires_grad=True)
first, = torch.autograd.grad(x**3, x, create_graph=True)
second, = torch.autograd.grad(first, x)
print(first.item(), second.item())
assert first == 12 and second == 12  # 3 x**2 and 6 x

# %% [markdown]
# ### Reverse and forward
#
# The walk backwards is called *reverse mode*.
# One pass gives the derivatives of one output with respect to all inputs, and the values of the forward pass that it needs have to be kept in memory, or computed again.
# *Forward mode* carries the derivatives along with the values: one pass gives the derivatives of all outputs with respect to one input, and nothing needs to be kept.
# A loss is a single output of millions of inputs, so training uses reverse mode.
#
# The module `torch.func` has both, as functions that take a function and return its derivative: `grad` for a single number, `jacrev` and `jacfwd` for Jacobians by reverse and forward mode, and `vmap`, which applies a function of one example to a batch.

# %%
# check 2.5-C10: Jacobians, and a derivative for each element
x = torch.arange(4.0)
square = lambda x: x * x
for jacobian in (torch.func.jacrev, torch.func.jacfwd):
    assert torch.equal(jacobian(square)(x), torch.diag(2 * x))
angles = torch.tensor([0.0, math.pi])
cosines = torch.func.vmap(torch.func.grad(torch.sin))(angles)
torch.testing.assert_close(cosines, torch.tensor([1.0, -1.0]))

# %%
t = torch.linspace(-2 * math.pi, 2 * math.pi, 101, requires_grad=True)
s = t.sin()
s.sum().backward()
ax = d2l.plot(t.detach(), [s.detach(), t.grad], [r"$\sin$", "autograd"],
              xlabel="$x$")
d2l.describe(ax, "The sine and its derivative found by automatic "
             "differentiation, which is the cosine: it is one where the "
             "sine rises through zero.")

# %% [markdown]
# **Figure 2.5.4.** The derivative of the sine, computed at 101 points by one call of `backward`.

# %% [markdown]
# ### Where there is no derivative
#
# $|x|$ and $\max(x,0)$, the ReLU, have a corner at 0.
# PyTorch returns 0 there, which is one of the slopes that lie between the two sides, a *subgradient*.
#
# The rule is applied to each operation, not to the whole function, and that can give a slope of neither side.
# $\max(x,0)-\max(-x,0)$ is the function $x$, without any corner and with slope 1; autograd adds up two zeros.
# Exact zeros are rarer than other numbers, but they do occur: a black patch of an image in a layer without bias gives one.
# The choice of slope then matters: on networks for images it changed the gradients in about half of the runs in 32 bits and in nearly none in 64, and for plain gradient descent the choice 0 seemed to do best, a difference that batch normalization and Adam dampened ([Bertoin et al., 2021](https://arxiv.org/abs/2106.12915)).

# %%
# check 2.5-C13: slopes at a corner are reported as 0, by our engine too
corner = Value(0.0)
corner.relu().backward()
assert corner.grad == 0
for corner in (torch.abs, torch.relu):
    x = torch.tensor(0.0, requires_grad=True)
    corner(x).backward()
    assert x.grad == 0

x = torch.tensor(0.0, requires_grad=True)
(torch.relu(x) - torch.relu(-x)).backward()
assert x.grad == 0  # although the function is x, with slope 1

# %% [markdown]
# ## Six errors that most people make
#
# You will meet these.
# We provoke them now, so you will recognize the message.

# %%
def message_of(action):
    """First line of the RuntimeError that an action raises."""
    try:
        action()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return "no error"

# %% [markdown]
# **1. Twice through the same graph.**
# After `backward` the saved values are thrown away, to free memory.
# (For `sum` nothing was saved, and a second call works.)
#
# **2. A leaf changed in place.**
# If you want the derivative at `w`, PyTorch does not let you overwrite `w` while it records.

# %%
def twice():
    y = (torch.ones(3, requires_grad=True) ** 2).sum()
    y.backward()
    y.backward()

def leaf_in_place():
    w = torch.ones(3, requires_grad=True)
    w += 1

print("1:", message_of(twice)[:66], "...")
print("2:", message_of(leaf_in_place))

# %% [markdown]
# **3. A saved value changed in place.**
# The derivative of $e^x$ is $e^x$, so the result is saved; changing it would make the gradient wrong, and PyTorch counts versions to notice.
#
# **4. Integers.**
# A derivative with respect to something that moves in steps makes no sense.

# %%
def saved_in_place():
    y = torch.ones(3, requires_grad=True).exp()
    y *= 2
    y.sum().backward()

print("3:", message_of(saved_in_place)[:66], "...")
print("4:", message_of(lambda: torch.arange(3, requires_grad=True)))

# %% [markdown]
# The count sees PyTorch's own operations only.
# A write through the array of `numpy()` ([Section 2.1](01-data-manipulation.ipynb)) escapes it, and the gradient is wrong without a message:

# %%
w = torch.tensor([1.0], requires_grad=True)
v = w * 1
y = (v**2).sum()  # saves v, which is 1
v.detach().numpy()[0] = 7
y.backward()
print("gradient:", w.grad.item(), " right:", 2.0)
assert w.grad == 14  # twice the 7 that stands there now

# %% [markdown]
# **5. To NumPy with a history.**
# NumPy cannot record, so you have to say that you do not mind: `x.detach().numpy()`.
#
# **6. The gradient of something in the middle.**
# Only leaves keep their gradients.
# For other values `grad` is `None`, with a warning; `retain_grad()`, called before `backward`, keeps it.

# %%
# check 2.5-C12: each error is raised; a value in the middle has no grad
x = torch.ones(3, requires_grad=True)
print("5:", message_of(x.numpy)[:66], "...")
for action in (twice, leaf_in_place, saved_in_place, x.numpy,
               lambda: torch.arange(3, requires_grad=True)):
    assert message_of(action) != "no error"

middle, kept = x * 2, x * 2
kept.retain_grad()
(middle + kept).sum().backward()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    missing = middle.grad
assert missing is None and len(caught) == 1
assert kept.grad.tolist() == [1, 1, 1]

x.grad, y = None, x.sum()
y.backward()
y.backward()  # no error: a sum has saved nothing
assert x.grad.tolist() == [2, 2, 2]

# %% [markdown]
# A seventh gives no message at all.
# To avoid the infinite slope of $\sqrt x$ at 0, one writes `torch.where(x > 0, x.sqrt(), 0)`.
# The value is right, and the gradient is `nan`: the walk backwards multiplies the slope of the branch that was not taken, infinity, by 0.

# %%
x = torch.tensor([0.0, 4.0], requires_grad=True)
y = torch.where(x > 0, x.sqrt(), torch.zeros(2))
y.sum().backward()
print("value", y.tolist(), " gradient", x.grad.tolist())
assert y.tolist() == [0, 2]
assert x.grad[0].isnan() and x.grad[1] == 0.25

# %% [markdown]
# ## Summary
#
# - PyTorch records what a program does and walks the record backwards; where a value is used several times, the chain rule adds the contributions. Separately, `grad` adds up over calls until it is reset.
# - One `backward` computes a vector-Jacobian product, the gradient of one number with respect to all inputs.
# - An engine needs a slope for each operation, a topological order, and a sum.
# - `detach` makes a constant, `no_grad` and `inference_mode` switch the recording off.
# - Branches and loops are recorded as they ran. At the corner of $|x|$ or ReLU the slope 0 is reported; composed corners can give a slope of neither side.
# - Difference quotients find a wrong gradient at the points that are tried.

# %% [markdown]
# ## Exercises
#
# ### Exercise 2.5-1
#
# Why does a second derivative cost more than a first one?
# Count the nodes of both graphs, and time them.

# %% [markdown]
# #### Solution 2.5-1

# %% [markdown]
# The second derivative walks backwards through the graph of the first derivative, which contains the operations of the forward pass and those of the walk backwards.
# For $n$ inputs there is one more reason: there are $n^2$ second derivatives.
# (`Timer` measures seconds since it was made; [Section 3.1](../03-linear-regression/01-linear-regression.ipynb) writes it.)

# %%
def count(node, seen):
    """Number of different nodes that lead to a result."""
    if node is None or node in seen:
        return 0
    seen.add(node)
    return 1 + sum(count(n, seen) for n, _ in node.next_functions)

x = torch.linspace(0.1, 1, 50, requires_grad=True)
y = (x.exp() * x.sin()).square().sum()
g, = torch.autograd.grad(y, x, create_graph=True)
nodes = count(y.grad_fn, set()), count(g.grad_fn, set())
print("nodes:", *nodes)
assert nodes[1] > nodes[0] == 6  # x, exp, sin, product, square, sum

# %% tags=["timing"]
for name, f in (("first", torch.func.grad(lambda x: (x**3).sum())),
                ("second", torch.func.hessian(lambda x: (x**3).sum()))):
    f(x.detach())
    timer = Timer()
    for _ in range(5):
        f(x.detach())
    print(f"{name:6} {timer.stop() / 5 * 1e3:.2f} ms")

# %% [markdown]
# ### Exercise 2.5-2
#
# Call `backward` twice on the same graph, and make it work.
# What is in `grad` then?

# %% [markdown]
# #### Solution 2.5-2

# %% [markdown]
# `retain_graph=True` in the first call keeps the saved values.
# The gradients add up, so `grad` is twice the gradient.

# %%
x = torch.arange(3.0, requires_grad=True)
y = (x**2).sum()
y.backward(retain_graph=True)
once = x.grad.clone()
y.backward()
assert torch.equal(x.grad, 2 * once) and torch.equal(once, 2 * x)

# %% [markdown]
# ### Exercise 2.5-3
#
# Draw $\sin$ and its derivative without using that the derivative is the cosine.

# %% [markdown]
# #### Solution 2.5-3

# %% [markdown]
# Figure 2.5.4 does it.
# The sum makes a single number of all values, and since each value depends on its own point only, the gradient has the derivative at each point.

# %%
torch.testing.assert_close(t.grad, t.detach().cos())
assert len(t) == 101

# %% [markdown]
# ### Exercise 2.5-4
#
# Extend `Value` by division and subtraction, also with plain numbers on either side, and compare with PyTorch.

# %% [markdown]
# #### Solution 2.5-4

# %% [markdown]
# A quotient is a product with a power, $u/v=u\,v^{-1}$, and a difference a sum with a product, $u-v=u+(-1)\,v$.
# No new derivative is needed.
# A plain number on the right becomes a `Value`; for one on the left, as in `2 / u`, Python calls `__rtruediv__` of the right operand.
# The methods go into `Value` itself: a subclass would not do, since `u + v` returns a `Value`, and `(u + v) / w` would fail.

# %%
def as_value(x):
    return x if isinstance(x, Value) else Value(x)


Value.__truediv__ = lambda u, v: u * as_value(v) ** -1
Value.__rtruediv__ = lambda v, u: as_value(u) * v**-1
Value.__sub__ = lambda u, v: u + as_value(v) * -1
Value.__rsub__ = lambda v, u: as_value(u) + v * -1

expressions = (lambda a, b, c: a / b / c, lambda a, b, c: (a + b) / c - a,
               lambda a, b, c: a / 2 - 1, lambda a, b, c: 2 / b - c * b,
               lambda a, b, c: 1 - (a - b) / (1 - c).exp())
for expression in expressions:
    ours = [Value(v) for v in (3.0, -1.5, 0.5)]
    theirs = torch.tensor([3.0, -1.5, 0.5], dtype=torch.float64,
                          requires_grad=True)
    expression(*ours).backward()
    expression(*theirs).backward()
    for v, expected in zip(ours, theirs.grad.tolist()):
        assert math.isclose(v.grad, expected, abs_tol=1e-12)

# %% [markdown]
# ### Exercise 2.5-5
#
# The *Hessian* of a function is the matrix of its second derivatives.
# Compute that of $\mathbf{x}^\top\mathbf{A}\mathbf{x}$.

# %% [markdown]
# #### Solution 2.5-5

# %% [markdown]
# The gradient is $(\mathbf{A}+\mathbf{A}^\top)\mathbf{x}$ ([Section 2.4](04-calculus.ipynb)), and its Jacobian is $\mathbf{A}+\mathbf{A}^\top$, symmetric even if $\mathbf{A}$ is not.

# %%
rng = torch.Generator().manual_seed(2)
A = torch.randn(3, 3, generator=rng, dtype=torch.float64)
x = torch.randn(3, generator=rng, dtype=torch.float64)
H = torch.func.hessian(lambda x: x @ A @ x)(x)
torch.testing.assert_close(H, A + A.T)

# %% [markdown]
# ### Exercise 2.5-6
#
# Repair the `nan` of the seventh error, without changing the values.

# %% [markdown]
# #### Solution 2.5-6

# %% [markdown]
# Protect the *input* of the square root as well, by a second `where`: the branch that is not taken then computes something harmless, and its slope is finite.
# This is called the double-where trick.

# %%
x = torch.tensor([0.0, 4.0], requires_grad=True)
safe = torch.where(x > 0, x, torch.ones(2))
y = torch.where(x > 0, safe.sqrt(), torch.zeros(2))
y.sum().backward()
assert y.tolist() == [0, 2] and x.grad.tolist() == [0, 0.25]

# %% [markdown]
# ## Sources
#
# - R. E. Wengert (1964). A simple automatic derivative evaluation program. [doi:10.1145/355586.364791](https://doi.org/10.1145/355586.364791).
# - S. Linnainmaa (1976). Taylor expansion of the accumulated rounding error. [doi:10.1007/BF01931367](https://doi.org/10.1007/BF01931367): reverse mode, from his thesis of 1970.
# - B. Speelpenning (1980). Compiling fast partial derivatives of functions given by algorithms. [doi:10.2172/5254402](https://doi.org/10.2172/5254402).
# - A. Griewank (1989). On automatic differentiation. In Mathematical Programming: Recent Developments and Applications. Kluwer.
# - A. G. Baydin, B. A. Pearlmutter, A. A. Radul, J. M. Siskind (2018). Automatic differentiation in machine learning: a survey. [arXiv:1502.05767](https://arxiv.org/abs/1502.05767).
# - D. Bertoin, J. Bolte, S. Gerchinovitz, E. Pauwels (2021). Numerical influence of ReLU'(0) on backpropagation. [arXiv:2106.12915](https://arxiv.org/abs/2106.12915).
# - A. Karpathy (2020). micrograd. [github.com/karpathy/micrograd](https://github.com/karpathy/micrograd): an engine for single numbers as a way to teach.
# - PyTorch documentation, [autograd mechanics](https://docs.pytorch.org/docs/stable/notes/autograd.html) and [torch.func](https://docs.pytorch.org/docs/stable/func.html).
