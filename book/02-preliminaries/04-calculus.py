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
# # 2.4 Calculus
#
# To train a network is to lower a loss, and each of its parameters can be moved up or down.
# Which way is down?
# Calculus answers that for all parameters at once.
# This section brings back what is needed, from the slope of a curve to the gradient of a function of many variables, and shows how to verify any derivative with nothing but a small step and a subtraction.

# %% [markdown]
# **You will**
#
# - differentiate composite functions and functions of several variables;
# - verify a derivative numerically, with a step that is neither too large nor too small;
# - say why the gradient points uphill, and its negative in the direction of steepest descent;
# - read the two conventions for the shape of a derivative, and know which one PyTorch uses.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import math

import matplotlib.pyplot as plt
import sympy
import torch

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64  # 16 digits, so that we see where they get lost

# %% [markdown]
# ## Two old questions
#
# How large is the area of a circle?
# The ancient answer was to inscribe a polygon, whose area is known, and to let it have more and more corners.
# A polygon around the circle gives an upper bound, so that the truth is caught between the two.
# This process of approaching a *limit* is the origin of *integral calculus*.
#
# How fast does a quantity change at one instant?
# That is the question of *differential calculus*, two thousand years younger, and its main use in this book is *optimization*: to make a loss small, one has to know how it changes when a parameter changes.
#
# (To fit a model has two sides. *Optimization* makes the error on the observed data small; *generalization* asks what this is worth on other data. Calculus serves the first.)

# %%
# check 2.4-C2: polygons bracket the circle of radius 1
expected = {6: (2.59808, 3.46410), 12: (3.0, 3.21539),
            96: (3.13935, 3.14271)}
for n, wanted in expected.items():
    inside = n / 2 * math.sin(2 * math.pi / n)
    outside = n * math.tan(math.pi / n)
    print(f"{n:3} sides: {inside:.5f} < pi < {outside:.5f}")
    assert abs(inside - wanted[0]) < 6e-6 and abs(outside - wanted[1]) < 6e-6
    assert inside < math.pi < outside

# %%
_, axes = plt.subplots(1, 3, figsize=(6.4, 2.3))
turn = torch.linspace(0, 2 * math.pi, 200)
for ax, n in zip(axes, (6, 12, 96)):
    corners = torch.arange(n + 1) * 2 * math.pi / n
    ax.plot(turn.cos(), turn.sin(), color="#999999", lw=1)
    ax.fill(corners.cos(), corners.sin(), color="#56B4E9", alpha=0.5)
    far = 1 / math.cos(math.pi / n)
    ax.plot(far * (corners + math.pi / n).cos(),
            far * (corners + math.pi / n).sin(), "--", color="#D55E00", lw=1)
    ax.set(title=f"{n} sides", aspect="equal")
    ax.axis("off")
d2l.describe(axes, "A circle with an inscribed polygon, filled, and a "
             "circumscribed one, dashed, with 6, 12 and 96 sides. With 96 "
             "sides the three cannot be told apart.")

# %% [markdown]
# **Figure 2.4.1.** The area of the circle lies between those of the two polygons, and they meet.

# %% [markdown]
# ## Derivatives and differentiation
#
# The *derivative* of a function $f:\mathbb{R}\to\mathbb{R}$ is the limit of a quotient, the change of the value over the change of the argument:
#
# $$
# f'(x) = \lim_{h\to0}\frac{f(x+h)-f(x)}{h}. \tag{2.4.1}
# $$
#
# Here $x$ and $h$ are numbers.
# If the limit exists at $a$, then $f$ is *differentiable* at $a$; if it does so everywhere on an interval, $f$ is differentiable there.
# The derivative is the *instantaneous rate of change*: if $x$ is a parameter and $f$ the loss, it says how fast the loss rises or falls under a tiny change of the parameter.
# Where it is positive, decrease the parameter; where it is negative, increase it.
#
# Take $u=f(x)=3x^2-4x$.
# A number for $h$ turns the limit into arithmetic.
# At $x=1$ the quotient is $2+3h$, so that the limit is 2:

# %% tags=["export"]
def numerical_derivative(f, x, h=1e-5, scheme="central"):
    """Difference quotient of `f` at `x`, a number or a tensor.

    `f` maps a number to a number; on a tensor it must act elementwise.
    The scheme is "central" or "forward". The default step suits float64;
    in float32 take `h` near 1e-2.
    """
    if scheme == "central":
        return (f(x + h) - f(x - h)) / (2 * h)
    if scheme == "forward":
        return (f(x + h) - f(x)) / h
    raise ValueError(f"scheme is {scheme!r}; use 'central' or 'forward'.")

# %%
# check 2.4-C1: forward quotients are 2 + 3h, the central ones are 2
def f(x):
    return 3 * x**2 - 4 * x

for h in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
    forward = numerical_derivative(f, 1.0, h, "forward")
    central = numerical_derivative(f, 1.0, h, "central")
    print(f"h = {h:.5f}: forward {forward:.5f}, central {central:.5f}")
    assert abs(forward - (2 + 3 * h)) < 1e-9
    assert abs(central - 2) < 1e-9

# %% [markdown]
# The *forward* quotient looks at one side.
# The *central* quotient, $\frac{f(x+h)-f(x-h)}{2h}$, looks at both, and the errors of the two sides largely cancel.
#
# In the picture the quotient is the slope of a *secant*, a line through two points of the curve.
# Move the slider towards $h=0$, and the secant becomes the *tangent*, the line $y=2x-3$ that touches the curve at $x=1$.

# %%
def draw(fig, h):
    ax, xs = fig.subplots(), torch.linspace(-0.2, 2.6, 100)
    ax.plot(xs, f(xs), color="#0072B2")
    slope = numerical_derivative(f, 1.0, h, "forward") if h else 2.0
    ax.plot(xs, f(1.0) + slope * (xs - 1), "--", color="#D55E00")
    ax.plot([1, 1 + h], [f(1.0), f(1 + h)], "o", color="#222222")
    ax.set(xlabel="$x$", ylabel="$f(x)$", ylim=(-3, 8),
           title=f"h = {h:g}: slope {slope:.2f}")


d2l.sliders(draw, """The curve of 3x² - 4x and a line through its points at
    1 and 1 + h. As h shrinks, the line turns into the tangent at 1, of
    slope 2.""", h=[1.5, 1.25, 1, 0.75, 0.5, 0.25, 0.1, 0])

# %% [markdown]
# **Figure 2.4.2.** A secant turns into the tangent.
# For $h=0$ the formula has no value; the picture shows the limit.

# %% [markdown]
# The picture was drawn by a few lines of Matplotlib.
# For curves alone, the helper `d2l.plot(x, ys, labels, xlabel=…, xscale=…)` suffices: it takes the abscissae, one curve or a list of them, and a name for each, and gives all figures of this book their common look.
#
# There are several notations, and one meets all of them:
#
# $$
# f'(x) = y' = \frac{dy}{dx} = \frac{df}{dx} = \frac{d}{dx}f(x) = Df(x) = D_xf(x). \tag{2.4.2}
# $$
#
# ### Rules
#
# Nobody computes limits every time.
# A few derivatives and rules for putting them together suffice.
# For a constant $C$ and any real $n$, where the powers are defined,
#
# $$
# DC = 0, \qquad Dx^n = nx^{n-1}, \qquad De^x = e^x, \qquad D\log x = \frac1x. \tag{2.4.3}
# $$
#
# For differentiable functions $f$ and $g$,
#
# $$
# [Cf]'=Cf', \qquad [f+g]'=f'+g', \qquad [fg]'=fg'+gf', \qquad \left[\frac fg\right]'=\frac{gf'-fg'}{g^2}. \tag{2.4.4}
# $$
#
# By these rules $u'=3\cdot2x-4=6x-4$, and $u'(1)=2$.
#
# ![A rectangle with the sides f and g. Each side grows a little, by df and dg. The area grows by a strip f dg along one side, a strip g df along the other, and a tiny corner df dg.](img/product-rule-rectangle.svg)
#
# **Figure 2.4.3.** Why the product rule has two terms: a rectangle that grows on both sides gains two strips.
# The corner is a product of two small numbers and vanishes in the limit.

# %%
# check 2.4-C9: product and quotient rule, by a computer algebra system
t = sympy.symbols("t")
F, G = sympy.Function("f")(t), sympy.Function("g")(t)
product = sympy.diff(F * G, t) - (F * G.diff(t) + G * F.diff(t))
quotient = sympy.diff(F / G, t) - (G * F.diff(t) - F * G.diff(t)) / G**2
assert sympy.simplify(product) == 0 and sympy.simplify(quotient) == 0
print(sympy.diff(3 * t**2 - 4 * t, t))

# %% [markdown]
# ## How small should the step be?
#
# The quotient (2.4.1) is a way to *verify* a derivative, for every formula and every program.
# Mathematics wants $h$ as small as possible.
# A computer does not, because it stores 16 digits and no more.
#
# Two errors compete.
# By Taylor's theorem, $f(x+h)=f(x)+hf'(x)+\frac{h^2}2f''(x)+\frac{h^3}6f'''(x)+\cdots$, so that
#
# $$
# \frac{f(x+h)-f(x)}{h} = f'(x)+\frac h2f''(x)+\cdots, \qquad \frac{f(x+h)-f(x-h)}{2h} = f'(x)+\frac{h^2}6f'''(x)+\cdots. \tag{2.4.5}
# $$
#
# The *truncation error* is proportional to $h$ for the forward quotient and to $h^2$ for the central one.
# The *rounding error* goes the other way.
# Each value of $f$ is wrong by about $\epsilon|f(x)|$, where $\epsilon\approx10^{-16}$ is the relative precision, and the division by $h$ turns this into $\epsilon/h$.

# %%
# check 2.4-C4: half the step, half the error, or a quarter of it
for scheme, factor in (("forward", 2.0), ("central", 4.0)):
    errors = [abs(numerical_derivative(math.sin, 1.0, h, scheme)
                  - math.cos(1)) for h in (1e-2, 5e-3)]
    print(f"{scheme}: the error shrinks by {errors[0] / errors[1]:.2f}")
    assert abs(errors[0] / errors[1] - factor) < 0.01 * factor

# %%
# check 2.4-C3: the best steps for e**x at 1, and what comes after them
def error_at(h, scheme):
    return abs(numerical_derivative(math.exp, 1.0, h, scheme) - math.e)

steps = [10.0**-k for k in range(1, 16)]
best = {s: min(steps, key=lambda h: error_at(h, s))
        for s in ("forward", "central")}
for scheme, h in best.items():
    print(f"{scheme}: best step {h:.0e}, error {error_at(h, scheme):.0e}")
assert 1e-9 < best["forward"] < 1e-7 < 1e-6 < best["central"] < 1e-4
assert error_at(1e-8, "forward") < 1e-7 < error_at(1e-5, "forward")
assert error_at(1e-5, "central") < 1e-9
assert min(error_at(1e-14, s) for s in best) > 1e-3

# %% tags=["timing"]
h = torch.logspace(-15, -1, 113, dtype=f64)
curves = [[max(error_at(step, scheme), 1e-13) for step in h.tolist()]
          for scheme in best]
ax = d2l.plot(h, curves, list(best), xlabel="step $h$", ylabel="error",
              xscale="log", yscale="log")
ax.plot(h, 1.1e-16 * math.e / h, color="gray", lw=1, ls=":")
ax.text(1e-12, 2e-2, "rounding", fontsize=9, color="dimgray")
ax.set_ylim(1e-12, 5)
d2l.describe(ax, "Error of both quotients against the step, on logarithmic "
             "axes. From the right the forward error falls with slope one, "
             "the central one with slope two. Both then turn and rise along "
             "a jagged line of slope minus one, the rounding error.")

# %% [markdown]
# **Figure 2.4.4.** Two errors compete.
# From the right the truncation error falls with slope 1 or 2; from the left the rounding error falls along the dotted line.
# The best step lies where they meet.

# %% [markdown]
# The optimum follows from setting the two errors equal: $h\approx\sqrt\epsilon$ for the forward quotient and $h\approx\epsilon^{1/3}$ for the central one, which is about $10^{-8}$ and $10^{-5}$ in double precision.
# In single precision, with $\epsilon\approx10^{-7}$, the central step should be near $10^{-2}$.

# %% [markdown]
# ## Partial derivatives
#
# A loss depends on many parameters.
# For a function $y=f(x_1,\dots,x_n)$ the *partial derivative* with respect to $x_i$ is the derivative when all other arguments are held fixed:
#
# $$
# \frac{\partial y}{\partial x_i} = \lim_{h\to0}\frac{f(x_1,\dots,x_i+h,\dots,x_n)-f(x_1,\dots,x_n)}{h}. \tag{2.4.6}
# $$
#
# All arguments are numbers.
# It is also written $\frac{\partial f}{\partial x_i}$, $f_{x_i}$, $f_i$, $D_if$ or $D_{x_i}f$.
# To compute it, treat the others as constants.
#
# ## Gradients
#
# The partial derivatives of a function $f:\mathbb{R}^n\to\mathbb{R}$, put into a vector, are its *gradient*:
#
# $$
# \nabla_{\mathbf{x}}f(\mathbf{x}) = \left[\frac{\partial f}{\partial x_1},\dots,\frac{\partial f}{\partial x_n}\right]^\top\in\mathbb{R}^n. \tag{2.4.7}
# $$
#
# It has the shape of $\mathbf{x}$.
# For $f(\mathbf{x})=3x_1^2+5e^{x_2}$ it is $[6x_1,\,5e^{x_2}]^\top$, which at $(1,0)$ is $(6,5)$.
#
# The following function computes any gradient by difference quotients, one for each element.
# It is slow, it is not exact, and it is the most useful test in this book, since it knows nothing about the program that it tests.

# %% tags=["export"]
def numerical_gradient(f, x, h=1e-5, scheme="central"):
    """Gradient of `f` at the tensor `x`, one partial derivative at a time.

    `f` maps a tensor of the shape of `x`, any shape, to a number or to a
    tensor with one element. Returns a tensor of the shape and dtype of
    `x`, which stays unchanged. Costs two calls of `f` for each element.
    """
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}; a step h needs floats.")
    x = x.detach()
    gradient = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
    for i in range(x.numel()):
        unit = torch.zeros_like(gradient)
        unit[i] = 1

        def along_axis(t):  # x moves by t along axis i only
            return torch.as_tensor(f(x + t * unit.reshape(x.shape))).item()

        gradient[i] = numerical_derivative(along_axis, 0.0, h, scheme)
    return gradient.reshape(x.shape)

# %%
# check 2.4-C6: the gradient of 3 x1**2 + 5 exp(x2) at (1, 0)
x = torch.tensor([1.0, 0.0], dtype=f64)
g = numerical_gradient(lambda x: 3 * x[0] ** 2 + 5 * x[1].exp(), x)
print([round(v, 6) for v in g.tolist()])
torch.testing.assert_close(g, torch.tensor([6.0, 5.0], dtype=f64),
                           rtol=0, atol=1e-8)

# %% [markdown]
# ### Rules for vectors and matrices
#
# Five gradients come up all the time.
# For $\mathbf{x}\in\mathbb{R}^n$ and a constant matrix $\mathbf{A}$ of fitting size,
#
# $$
# \nabla_{\mathbf{x}}\mathbf{A}\mathbf{x}=\mathbf{A}^\top, \qquad \nabla_{\mathbf{x}}\mathbf{x}^\top\mathbf{A}=\mathbf{A}, \qquad \nabla_{\mathbf{x}}\mathbf{x}^\top\mathbf{A}\mathbf{x}=(\mathbf{A}+\mathbf{A}^\top)\mathbf{x}, \tag{2.4.8}
# $$
#
# $$
# \nabla_{\mathbf{x}}\|\mathbf{x}\|^2=\nabla_{\mathbf{x}}\mathbf{x}^\top\mathbf{x}=2\mathbf{x}, \qquad \nabla_{\mathbf{X}}\|\mathbf{X}\|_F^2=2\mathbf{X}. \tag{2.4.9}
# $$
#
# In the first rule $\mathbf{A}\in\mathbb{R}^{m\times n}$, in the second $\mathbf{A}\in\mathbb{R}^{n\times m}$, in the third it is square; $\|\mathbf{X}\|_F^2$ is the sum of the squares of all elements of a matrix.
# Each follows from the components.
# Row $j$ of $\mathbf{A}\mathbf{x}$ is $\sum_ia_{ji}x_i$, and its derivative with respect to $x_i$ is $a_{ji}$.
# The second rule is the first one transposed.
# In $\mathbf{x}^\top\mathbf{A}\mathbf{x}=\sum_{i,j}a_{ij}x_ix_j$ the variable $x_k$ occurs once on the left and once on the right, so that its derivative is $\sum_ja_{kj}x_j+\sum_ia_{ik}x_i$, element $k$ of $\mathbf{A}\mathbf{x}+\mathbf{A}^\top\mathbf{x}$.
# With $\mathbf{A}=\mathbf{I}$ this is $2\mathbf{x}$.
# And the Frobenius norm is the norm of the matrix read as one long vector.
#
# ### A matter of layout
#
# The first rule holds a trap.
# $\mathbf{A}\mathbf{x}$ is not a number but a vector with $m$ elements, and its derivatives fill a matrix: which way round?
# In the *denominator layout* of the rules above, row $i$ belongs to $x_i$, and the result is $\mathbf{A}^\top\in\mathbb{R}^{n\times m}$.
# In the *numerator layout* row $j$ belongs to the output $j$; this matrix is called the *Jacobian* $\mathbf{J}$, with $J_{ji}=\partial y_j/\partial x_i$, and it is $\mathbf{A}$ itself.
# PyTorch returns Jacobians.
# For a function with a single output the two agree in what matters: the gradient has the shape of $\mathbf{x}$.

# %%
# check 2.4-C5: the five rules, and the Jacobian
rng = torch.Generator().manual_seed(1)
A = torch.randn(3, 4, generator=rng, dtype=f64)
S = torch.randn(4, 4, generator=rng, dtype=f64)
x = torch.randn(4, generator=rng, dtype=f64)
X = torch.randn(2, 3, generator=rng, dtype=f64)
jacobian, gradient = torch.func.jacrev, torch.func.grad

def same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)

same(jacobian(lambda x: A @ x)(x), A)                # numerator layout
same(jacobian(lambda x: A @ x)(x).T, A.T)            # rule 1
same(jacobian(lambda x: x @ A.T)(x).T, A.T)          # rule 2, for A.T
same(gradient(lambda x: x @ S @ x)(x), (S + S.T) @ x)
same(gradient(lambda x: x @ x)(x), 2 * x)
same(gradient(lambda X: X.square().sum())(X), 2 * X)
assert (numerical_gradient(lambda X: X.square().sum(), X)
        - 2 * X).abs().max() < 1e-8

# %% [markdown]
# ## The chain rule
#
# A network is a function of a function of a function.
# If $y$ depends on $u$ and $u$ on $x$, all numbers, then
#
# $$
# \frac{dy}{dx} = \frac{dy}{du}\,\frac{du}{dx}. \tag{2.4.10}
# $$
#
# If $u$ turns three times as fast as $x$, and $y$ twice as fast as $u$, then $y$ turns six times as fast as $x$.
#
# When there are several intermediate variables $u_1,\dots,u_m$, each of which may depend on each $x_i$, the contributions of all ways from $x_i$ to $y$ are added:
#
# $$
# \frac{\partial y}{\partial x_i} = \sum_{j=1}^m\frac{\partial y}{\partial u_j}\,\frac{\partial u_j}{\partial x_i}, \qquad\text{that is,}\qquad \nabla_{\mathbf{x}}y=\mathbf{J}^\top\nabla_{\mathbf{u}}y, \tag{2.4.11}
# $$
#
# with the Jacobian $\mathbf{J}\in\mathbb{R}^{m\times n}$ of $\mathbf{u}$ with respect to $\mathbf{x}$.
#
# ![A graph. Two nodes x1 and x2 on the left, two nodes u1 and u2 in the middle, each connected with both, and one node y on the right. Every arrow carries a derivative. The two ways from x1 to y are emphasized.](img/chain-rule-graph.svg)
#
# **Figure 2.4.5.** The chain rule multiplies along a way and adds over the ways.
#
# For example, let $y=u_1^2u_2$ with $u_1=x_1+x_2$ and $u_2=x_1x_2$.
# At $\mathbf{x}=(1,2)$ we have $\mathbf{u}=(3,2)$, $y=18$ and $\nabla_{\mathbf{u}}y=(2u_1u_2,\,u_1^2)=(12,9)$.

# %%
# check 2.4-C7: the same gradient directly and through the chain rule
def u_of(x):
    return torch.stack([x[0] + x[1], x[0] * x[1]])

def y_of(u):
    return u[0] ** 2 * u[1]

x = torch.tensor([1.0, 2.0], dtype=f64)
direct = numerical_gradient(lambda x: y_of(u_of(x)), x)
J = torch.tensor([[1.0, 1.0], [2.0, 1.0]], dtype=f64)  # du/dx at (1, 2)
through = J.T @ torch.tensor([12.0, 9.0], dtype=f64)
print(y_of(u_of(x)).item(), through.tolist())
assert y_of(u_of(x)) == 18 and through.tolist() == [30, 21]
assert (direct - through).abs().max() < 1e-7

# %% [markdown]
# ## Which way is down?
#
# Stand at $\mathbf{x}$ and take a small step $\boldsymbol\delta$.
# To first order, by Taylor,
#
# $$
# f(\mathbf{x}+\boldsymbol\delta) \approx f(\mathbf{x})+\nabla f(\mathbf{x})^\top\boldsymbol\delta, \tag{2.4.12}
# $$
#
# with $\boldsymbol\delta\in\mathbb{R}^n$.
# The change is a dot product.
# Among all steps of length 1, which one gives the largest?
# By the inequality of Cauchy and Schwarz, $\mathbf{g}^\top\mathbf{v}\le\|\mathbf{g}\|\,\|\mathbf{v}\|$ with equality only if $\mathbf{v}$ points in the direction of $\mathbf{g}$.
# So the gradient is the direction of *steepest ascent*, its length is the slope there, and $-\nabla f$ is the direction of steepest descent.
# This one line is the reason why training follows the negative gradient.

# %%
# check 2.4-C8: of all directions the gradient's is the steepest
angle = torch.linspace(0, 2 * math.pi, 36_001, dtype=f64)
directions = torch.stack([angle.cos(), angle.sin()])   # (2, 36001)
slopes = torch.tensor([3.0, 4.0], dtype=f64) @ directions
steepest = directions[:, slopes.argmax()]
print(f"largest slope {slopes.max():.3f} in direction "
      f"({steepest[0]:.2f}, {steepest[1]:.2f})")
assert abs(slopes.max() - 5) < 1e-6
assert (steepest - torch.tensor([0.6, 0.8], dtype=f64)).abs().max() < 1e-3

# %%
def bowl(x):
    return x[0] ** 2 / 2 + 2 * x[1] ** 2

a, b = torch.meshgrid(torch.linspace(-3, 3, 121, dtype=f64),
                      torch.linspace(-1.7, 1.7, 81, dtype=f64),
                      indexing="xy")
_, ax = plt.subplots(figsize=(5.4, 3.2))
ax.contour(a, b, bowl(torch.stack([a, b])), levels=8, colors="#999999",
           linewidths=1)
for turn in torch.linspace(0, 2 * math.pi, 9)[:-1].tolist():
    at = torch.tensor([2 * math.cos(turn), math.sin(turn)], dtype=f64)
    g = numerical_gradient(bowl, at)
    ax.annotate("", (at + 0.22 * g).tolist(), at.tolist(), arrowprops={
        "arrowstyle": "-|>", "color": "#0072B2"})
ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", xlim=(-3, 3),
       ylim=(-1.9, 1.9))
ax.grid(False)
d2l.describe(ax, "Elliptic level lines of a bowl and arrows of its gradient "
             "at eight points of one of them. Every arrow stands "
             "perpendicular on the level line and points outwards.")

# %% [markdown]
# **Figure 2.4.6.** Gradients stand perpendicular on the level sets, since along a level set nothing changes.
# They do not point to or from the minimum, unless the bowl is round.

# %% [markdown]
# ## Summary
#
# - A derivative is a rate of change; its sign tells in which direction a parameter lowers the loss.
# - A central difference quotient verifies any derivative to about ten digits, with a step near $10^{-5}$; smaller steps make it worse.
# - The gradient has the shape of its argument, points in the direction of steepest ascent, and its length is the slope there.
# - Jacobians, as PyTorch returns them, have one row for each output; the textbook rules are their transposes.
# - The chain rule multiplies along each way and adds over the ways, $\nabla_{\mathbf{x}}y=\mathbf{J}^\top\nabla_{\mathbf{u}}y$.

# %% [markdown]
# ## Exercises
#
# ### Exercise 2.4-1
#
# Prove the derivatives (2.4.3) and the sum, product and quotient rules from the definition (2.4.1).

# %% [markdown]
# #### Solution 2.4-1
#
# *Constant*: the quotient is 0.
# *Power*, for a positive integer $n$: $(x+h)^n=x^n+nhx^{n-1}+h^2(\dots)$; subtract $x^n$, divide by $h$, let $h\to0$.
# *Exponential*: $\frac{e^{x+h}-e^x}h=e^x\,\frac{e^h-1}h$, and the last factor tends to 1, which is one way to define $e$.
# *Logarithm*: $\frac{\log(x+h)-\log x}h=\frac1x\cdot\frac{\log(1+s)}s$ with $s=h/x$, and $\frac{\log(1+s)}s\to1$. General powers follow from $x^n=e^{n\log x}$.
# *Sum*: the quotient of a sum is the sum of the quotients.
# *Product*: $f(x+h)g(x+h)-f(x)g(x)=f(x+h)\,[g(x+h)-g(x)]+g(x)\,[f(x+h)-f(x)]$; divide by $h$, and use that $f(x+h)\to f(x)$.
# *Quotient*: apply the product rule to $f=\frac fg\cdot g$ and solve for $\left[\frac fg\right]'$.

# %%
n, z = sympy.symbols("n z", positive=True)
h = sympy.symbols("h")
for function in (z**5, sympy.exp(z), sympy.log(z)):
    limit = sympy.limit((function.subs(z, z + h) - function) / h, h, 0)
    assert sympy.simplify(limit - sympy.diff(function, z)) == 0

# %% [markdown]
# ### Exercise 2.4-2
#
# What is the derivative of $x^x$ for $x>0$?

# %% [markdown]
# #### Solution 2.4-2
#
# Write $x^x=e^{x\log x}$; the chain rule and the product rule give $x^x(\log x+1)$.

# %%
for at in (0.5, 1.0, 2.3):
    exact = at**at * (math.log(at) + 1)
    assert abs(numerical_derivative(lambda v: v**v, at) - exact) < 1e-7

# %% [markdown]
# ### Exercise 2.4-3
#
# Draw $y=x^3-\frac1x$ and its tangent at $x=1$.

# %% [markdown]
# #### Solution 2.4-3
#
# The derivative is $3x^2+\frac1{x^2}$, at 1 it is 4, and the value is 0; the tangent is $y=4x-4$.

# %%
def cubic(x):
    return x**3 - 1 / x

slope = numerical_derivative(cubic, 1.0)
assert cubic(1.0) == 0 and abs(slope - 4) < 1e-7
xs = torch.linspace(0.4, 2, 100)
ax = d2l.plot(xs, [cubic(xs), 4 * xs - 4], ["$x^3-1/x$", "tangent at 1"],
              xlabel="$x$")
d2l.describe(ax, "The curve of x cubed minus one over x, and the straight "
             "line 4x - 4 that touches it at x = 1.")

# %% [markdown]
# **Figure 2.4.7.** The curve and its tangent $y=4x-4$.

# %% [markdown]
# ### Exercise 2.4-4
#
# What is the gradient of $\|\mathbf{x}\|_2$?
# What happens at $\mathbf{x}=\mathbf{0}$, in mathematics and in PyTorch?

# %% [markdown]
# #### Solution 2.4-4
#
# $\nabla\|\mathbf{x}\|=\mathbf{x}/\|\mathbf{x}\|$, a unit vector; at $(3,4)$ it is $(0.6,0.8)$.
# At 0 the norm has a tip, like a cone, and no gradient.
# PyTorch's `norm` returns 0 there, by a special rule; the same norm written by hand gives `nan`, because the root has infinite slope at 0 and the square has slope 0.

# %%
def by_hand(x):
    return x.square().sum().sqrt()

x = torch.tensor([3.0, 4.0], dtype=f64)
same(numerical_gradient(torch.linalg.norm, x).round(decimals=6),
     torch.tensor([0.6, 0.8], dtype=f64))
zero = torch.zeros(2)
assert torch.func.grad(torch.linalg.norm)(zero).tolist() == [0, 0]
assert torch.func.grad(by_hand)(zero).isnan().all()

# %% [markdown]
# ### Exercise 2.4-5
#
# Let $g$ be the inverse function of $f$, so that $f(g(x))=x$.
# Find $g'$, and derive $D\log x$ from $De^x$.

# %% [markdown]
# #### Solution 2.4-5
#
# Differentiate both sides by the chain rule: $f'(g(x))\,g'(x)=1$, hence $g'(x)=1/f'(g(x))$.
# With $f=\exp$ and $g=\log$ it is $1/e^{\log x}=1/x$.

# %%
for at in (0.5, 1.0, 4.0):
    by_rule = 1 / math.exp(math.log(at))
    assert abs(numerical_derivative(math.log, at) - by_rule) < 1e-8

# %% [markdown]
# ### Exercise 2.4-6
#
# Find a function with $f'(a)=0$ at some $a$ that is neither a minimum nor a maximum.

# %% [markdown]
# #### Solution 2.4-6
#
# $f(x)=x^3$ at 0: the slope is zero for an instant, and the function rises on both sides.
# Training can slow down at such places, and at their counterparts in many dimensions, the saddle points.

# %%
def cube(x):
    return x**3

assert abs(numerical_derivative(cube, 0.0)) < 1e-9
assert cube(-0.1) < cube(0.0) < cube(0.1)

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the choice of rules and notations.
# - K. B. Petersen, M. S. Pedersen (2012). The Matrix Cookbook. [math.uwaterloo.ca/~hwolkowi/matrixcookbook.pdf](https://www.math.uwaterloo.ca/~hwolkowi/matrixcookbook.pdf): gradients of matrix expressions.
# - T. Parr, J. Howard (2018). The matrix calculus you need for deep learning. [arXiv:1802.01528](https://arxiv.org/abs/1802.01528): layouts.
# - N. J. Higham (2002). Accuracy and Stability of Numerical Algorithms. SIAM, [doi:10.1137/1.9780898718027](https://doi.org/10.1137/1.9780898718027): the best step of a difference quotient.
# - A. Meurer et al. (2017). SymPy: symbolic computing in Python. [doi:10.7717/peerj-cs.103](https://doi.org/10.7717/peerj-cs.103).
