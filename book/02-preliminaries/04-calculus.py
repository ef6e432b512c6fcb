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
# Training a network means turning millions of knobs a little in the directions in which the loss falls.
# Which way should each knob turn, and how much does it matter?
# The derivative answers both questions.
# This section builds it from differences of numbers, checks the rules against them, and shows why the gradient points uphill.

# %% [markdown]
# **You will**
#
# - differentiate composite functions of one and of many variables;
# - check a derivative by a difference quotient, with a step that balances the error of the formula and the rounding;
# - prove that the negative gradient is the direction of steepest descent;
# - use the gradient rules for vectors and matrices, and translate between the two layouts in which they are printed.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import math

import matplotlib.pyplot as plt
import sympy as sp
import torch

import d2l_helpers as d2l

d2l.use_style()
f64 = torch.float64  # 16 digits, for checks of identities

# %% [markdown]
# ## Limits
#
# What is the area of a circle of radius 1?
# Ancient geometers could compute the area of polygons, so they put one inside the circle and one around it.
# The circle lies between the two, and with more corners the gap closes.

# %%
def corners(n, outer):
    """A regular polygon, inscribed or circumscribed: two (n + 1,) lists."""
    r = 1 / math.cos(math.pi / n) if outer else 1.0
    t = 2 * math.pi * torch.arange(n + 1) / n + outer * math.pi / n
    return r * t.cos(), r * t.sin()

# %% tags=["hide-input"]
circle = torch.linspace(0, 2 * math.pi, 721)
_, axes = plt.subplots(1, 3, figsize=(7.2, 2.5))
for ax, n in zip(axes, (6, 12, 24)):
    ax.fill(*corners(n, True), color="#dddddd")
    ax.fill(*corners(n, False), color="#56B4E9")
    ax.plot(circle.cos(), circle.sin(), color="black", lw=1.2)
    ax.set(aspect="equal", title=f"{n} sides")
    ax.axis("off")
axes[2].set(xlim=(0.86, 1.04), ylim=(0.15, 0.33),
            title="24 sides, 13 times enlarged")
d2l.describe(axes, """A circle with a polygon inside and a polygon around
    it, for 6, 12 and 24 sides. The ring between the two polygons becomes
    thin; with 24 sides it can be seen only in an enlargement.""")

# %% [markdown]
# **Figure 2.4.1.** Inscribed polygons (blue) are smaller than the circle, circumscribed ones (with the grey rim) larger.

# %% [markdown]
# Let $a_n$ be the area of the inscribed polygon with $n$ sides and $b_n$ that of the circumscribed one.
# Doubling the number of sides needs no trigonometry, as James Gregory found in 1667:
#
# $$a_{2n} = \sqrt{a_nb_n},\qquad b_{2n} = \frac{2\,a_{2n}b_n}{a_{2n}+b_n}, \tag{2.4.1}$$
#
# starting from the areas of the two hexagons, the numbers $a_6=\frac32\sqrt3$ and $b_6=2\sqrt3$.

# %%
a, b = 3 * math.sqrt(3) / 2, 2 * math.sqrt(3)
bounds = {6: (a, b)}
for n in (12, 24, 48, 96):
    a = math.sqrt(a * b)
    b = 2 * a * b / (a + b)
    bounds[n] = (a, b)
for n, (a, b) in bounds.items():
    print(f"{n:3d} sides: {a:.5f} < area < {b:.5f}")

# %%
# check 2.4-C2: the polygons enclose pi
expected = {6: (2.59808, 3.46410), 12: (3.0, 3.21539),
            96: (3.13935, 3.14271)}
for n, (inner, outer) in expected.items():
    assert abs(bounds[n][0] - inner) < 5e-6
    assert abs(bounds[n][1] - outer) < 5e-6
for n, (a, b) in bounds.items():
    assert a < math.pi < b
    assert math.isclose(a, n / 2 * math.sin(2 * math.pi / n))
    assert math.isclose(b, n * math.tan(math.pi / n))
    for outer, area in ((False, a), (True, b)):  # the drawn polygons
        px, py = corners(n, outer)
        cross = px[:-1] * py[1:] - px[1:] * py[:-1]  # (n,)
        assert math.isclose(cross.sum().item() / 2, area, rel_tol=1e-5)

# %% [markdown]
# No polygon is the circle, but the areas come as close to one number, $\pi$, as we like.
# This number is their *limit*.
# Areas as limits of sums of simple pieces are the subject of *integral calculus*; we need them for probabilities ([Section 2.6](06-probability-and-statistics.ipynb)).
#
# The other half, *differential calculus*, is about rates of change, and its main use in this book is *optimization*.
# Fitting a model has two sides.
# *Optimization* makes the loss small on the data that we have seen.
# *Generalization* is the question whether the model is then also right about data that we have not seen.
# Derivatives serve the first; [Section 3.6](../03-linear-regression/06-generalization.ipynb) and others are about the second.

# %% [markdown]
# ## Derivatives and differentiation
#
# A car that drives 50 metres in 2 seconds has an average speed of 25 metres per second.
# For its speed *now* we measure over a shorter time, then a shorter one still.
# In general, let $f$ be a function from numbers to numbers, and move its argument from $x$ to $x+h$.
# The change of $f$ per unit of the argument is the *difference quotient*, and its limit is the *derivative*
#
# $$f'(x) = \lim_{h\to0}\frac{f(x+h)-f(x)}{h}, \tag{2.4.2}$$
#
# with $x$, the *step* $h\ne0$ and the result all numbers.
# If the limit exists at $x=a$, $f$ is *differentiable at* $a$; if this holds for each $a$ of an interval, $f$ is differentiable on the interval.
# The derivative is the *instantaneous rate of change*.
# Our first example is $f(x)=3x^2-4x$ at $x=1$.

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

# %% [markdown]
# The scheme "forward" is the quotient of (2.4.2); "central" goes one step to each side, and we come back to it.

# %%
def u(x):
    return 3 * x**2 - 4 * x


quotients = [numerical_derivative(u, 1.0, 10.0**-k, scheme="forward")
             for k in range(1, 6)]
for k, quotient in enumerate(quotients, start=1):
    print(f"h = 1e-{k}: {quotient:.6f}")

# %% [markdown]
# The limit seems to be 2, and algebra confirms it:
#
# $$\frac{u(x+h)-u(x)}{h} = \frac{6xh+3h^2-4h}{h} = 6x-4+3h\ \to\ 6x-4\qquad(h\to0), \tag{2.4.3}$$
#
# so $u'(x)=6x-4$ and $u'(1)=2$; for each $h$ the quotient misses it by exactly $3h$.
# The line through the two points is a *secant*, and as $h$ shrinks it turns into the *tangent*.

# %% tags=["hide-input"]
xs = torch.linspace(0, 3, 121, dtype=f64)


def draw(fig, h):
    ax = fig.subplots()
    slope = numerical_derivative(u, 1.0, h, scheme="forward")
    ax.plot(xs, u(xs), color="C0")
    ax.plot(xs, 2 * xs - 3, ":", color="black", label="tangent, slope 2")
    secant = lambda x: slope * (x - 1) - 1
    assert abs(secant(1 + h) - u(1 + h)) < 1e-9  # through both points
    ax.plot(xs, secant(xs), "--", color="C1",
            label=f"secant, slope {slope:.2f}")
    ax.plot([1, 1 + h], [u(1), u(1 + h)], "o", color="C1")
    ax.set(xlabel="x", ylabel="u(x)", xlim=(0, 3), ylim=(-4, 10))
    ax.legend(loc="upper left")


d2l.sliders(draw, """The parabola u(x) = 3 x^2 - 4 x, its tangent at x = 1,
    and the secant through the points at 1 and 1 + h. The smaller h, the
    nearer the secant lies to the tangent.""",
    h=[1.5, 1.2, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.01])

# %% [markdown]
# **Figure 2.4.2.** Move $h$ towards 0: the secant turns into the tangent, and its slope $2+3h$ goes to 2.

# %%
# check 2.4-C1: forward quotients 2 + 3h; the central one is exact here
for quotient, expected in zip(quotients, (2.3, 2.03, 2.003, 2.0003,
                                          2.00003)):
    assert abs(quotient - expected) < 1e-9
for k in range(1, 6):
    h = 10.0**-k
    central = numerical_derivative(u, 1.0, h)
    assert abs(central - 2) < 1e-15 / h  # rounding, no error of order h
assert numerical_derivative(u, torch.tensor([1.0, 2]), 0.5).tolist() == [2, 8]
try:
    numerical_derivative(u, 1.0, scheme="backward")
    refused = False
except ValueError:
    refused = True
assert refused

# %% [markdown]
# Why should we care?
# Let $x$ be a parameter of a model and $f$ the loss.
# Then $f'(x)=2$ says that an increase of the parameter by a tiny amount raises the loss by twice this amount.
# The *sign* tells which way to turn the knob, here down, and the *size* tells how much this knob matters.
#
# Not every function has a derivative everywhere.
# For $f(x)=|x|$ at 0, the quotient is $|h|/h$: 1 for all positive steps, $-1$ for all negative ones, so there is no limit.
# The central quotient is blind to this and reports the mean of the two.

# %%
for h in (0.1, 0.001, -0.001, -0.1):
    print(f"h = {h:6g}: {numerical_derivative(abs, 0.0, h, 'forward'):+.0f}")
central = numerical_derivative(abs, 0.0)
print(f"central: {central:.0f}")
assert central == 0
assert [numerical_derivative(abs, 0.0, h, "forward")
        for h in (0.1, -0.1)] == [1, -1]

# %% [markdown]
# Deep learning uses such functions all the same (the ReLU of [Section 5.1](../05-multilayer-perceptrons/01-multilayer-perceptrons.ipynb) has a kink); [Section 2.5](05-automatic-differentiation.ipynb) says what PyTorch returns there.
#
# There are several notations for one thing.
# With $y=f(x)$,
#
# $$f'(x) = y' = \frac{dy}{dx} = \frac{df}{dx} = \frac{d}{dx}f(x) = Df(x) = D_xf(x), \tag{2.4.4}$$
#
# where $\frac{d}{dx}$ and $D$ are *operators*: they take a function and return its derivative.

# %% [markdown]
# ### Rules
#
# Taking limits is laborious, and a few results cover most of what one needs.
# For a constant $C$ and any real exponent $n$, wherever both sides are defined,
#
# $$DC = 0,\qquad Dx^n = nx^{n-1},\qquad De^x = e^x,\qquad D\log x = \frac1x. \tag{2.4.5}$$
#
# The function $e^x$ is its own derivative, and this makes $e$ the convenient base.
# For combinations of differentiable functions $f$ and $g$ of $x$,
#
# $$\begin{gathered} [Cf]' = Cf',\qquad [f+g]' = f'+g', \\[4pt] [fg]' = fg'+gf',\qquad \left[\frac fg\right]' = \frac{gf'-fg'}{g^2}, \end{gathered} \tag{2.4.6}$$
#
# the last one where $g\ne0$.
# Sums are as one would guess; products are not.
# A rectangle shows why.
#
# ![A rectangle with sides f and g. When the sides grow by Δf and Δg, it gains a strip g·Δf on the right, a strip f·Δg below, and a small corner Δf·Δg.](img/product-rule-rectangle.svg)
#
# **Figure 2.4.3.** The area $fg$ gains two strips and a corner.
# Divided by the step $h$, the strips tend to $gf'$ and $fg'$; the corner is a product of two small numbers and tends to 0.

# %% [markdown]
# Put a number in: for $f=x^2$ and $g=x^3$ the rule gives $x^2\cdot3x^2+x^3\cdot2x=5x^4$, as it must for $x^5$.
#
# `sympy` is a library that calculates with formulas in place of numbers; PyTorch installs it for its own use.
# It knows the rules, and it can take the limit of (2.4.2) as well, so we can check them.

# %%
x, h = sp.symbols("x h", positive=True)
n = sp.Symbol("n")
functions = [sp.Integer(7), x**n, sp.exp(x), sp.log(x), 3 * x**2 - 4 * x]
print("\n".join(f"D({y}) = {sp.simplify(y.diff(x))}" for y in functions))

# %%
# check 2.4-C9: product and quotient rule, for symbols and as limits
f, g = sp.Function("f")(x), sp.Function("g")(x)
df, dg = f.diff(x), g.diff(x)
rules = {f * g: f * dg + g * df, f / g: (g * df - f * dg) / g**2}
for combined, rule in rules.items():
    assert sp.simplify(combined.diff(x) - rule) == 0
    example = {f: x**2 + 1, g: 1 / x}
    y = sp.simplify(combined.subs(example))
    limit = sp.limit((y.subs(x, x + h) - y) / h, h, 0)  # (2.4.2) itself
    assert sp.simplify(limit - rule.subs(example).doit()) == 0
wrong = f.diff(x) * g.diff(x)  # "the product of the derivatives"
assert sp.simplify((f * g).diff(x) - wrong) != 0

# %% [markdown]
# ### A picture with one call
#
# Line plots occur so often that the book has a helper for them.
# `d2l.plot(x, ys, labels, xlabel=..., ylabel=...)` takes the abscissae, one array or one for each line, then one line or a list of them, and draws each in its own colour and dash pattern, with a legend if there are labels.
# Further options are `title`, `xlim`, `ylim`, `fmts` for the line formats, `xscale="log"` and `yscale="log"`, and `ax` to draw on existing axes.
# It returns the Matplotlib axes, to which anything else can be added.

# %%
xs = torch.linspace(0, 3, 121, dtype=f64)
ax = d2l.plot(xs, [u(xs), 2 * xs - 3], ["u(x)", "tangent at x = 1"],
              xlabel="x", ylabel="y")
ax.plot(1, -1, "o", color="black")
ax.text(1.06, -2.3, "(1, −1)")
d2l.describe(ax, """The parabola 3 x^2 - 4 x between 0 and 3 and the line
    2 x - 3, which touches it at the point (1, -1).""")

# %% [markdown]
# **Figure 2.4.4.** $u(x)=3x^2-4x$ and its tangent at $x=1$: slope $u'(1)=2$ through the point $(1,-1)$, hence $y=2x-3$.

# %% [markdown]
# ## Numerical differentiation
#
# A computer cannot let $h$ go to 0, but it can take a small $h$.
# How small?
# Suppose that $f$ has derivatives as often as we like.
# Taylor's theorem says $f(x\pm h)=f(x)\pm hf'(x)+\frac{h^2}2f''(x)\pm\frac{h^3}6f'''(x)+\cdots$, and inserting it gives
#
# $$\begin{gathered} \frac{f(x+h)-f(x)}{h} = f'(x)+\frac h2f''(x)+\cdots, \\[4pt] \frac{f(x+h)-f(x-h)}{2h} = f'(x)+\frac{h^2}6f'''(x)+\cdots. \end{gathered} \tag{2.4.7}$$
#
# Here $f''$ and $f'''$ are the second and third derivative.
# The *forward* quotient has an error of order $h$, the *central* one of order $h^2$, since by symmetry the terms with even powers cancel.
# So halving the step halves the first error and quarters the second.

# %%
# check 2.4-C4: halving h divides the errors by 2 and by 4
true = math.cos(1.0)
for scheme, expected in (("forward", 2.0), ("central", 4.0)):
    error = [abs(numerical_derivative(math.sin, 1.0, h, scheme) - true)
             for h in (1e-2, 5e-3)]
    print(f"{scheme}: {error[0]:.1e}, with half the step {error[1]:.1e}, "
          f"ratio {error[0] / error[1]:.2f}")
    assert abs(error[0] / error[1] - expected) < 0.01

# %% [markdown]
# By this formula the smallest step would be the best.
# But the computer rounds.
# A number in `float64` has a relative error of up to $\epsilon=1.1\cdot10^{-16}$, so the difference in the numerator is wrong by about $\epsilon|f(x)|$, and the division by $h$ turns this into $\epsilon|f(x)|/h$.
# The smaller the step, the larger this error.
# Once $x+h$ rounds to $x$ itself, the quotient is 0.
#
# The two errors work against each other, and the best step balances them: $h\approx\epsilon/h$ gives $h\approx\epsilon^{1/2}\approx10^{-8}$ for the forward quotient, and $h^2\approx\epsilon/h$ gives $h\approx\epsilon^{1/3}\approx5\cdot10^{-6}$ for the central one.
# We measure it for $e^x$ at $x=1$, where the derivative is $e$.

# %%
steps = [10.0 ** (-k / 2) for k in range(2, 31)]  # 0.1 down to 1e-15
errors = {scheme: [abs(numerical_derivative(math.exp, 1.0, h, scheme)
                       - math.e) for h in steps]
          for scheme in ("forward", "central")}

# %% tags=["timing", "hide-input"]
_, ax = plt.subplots(figsize=(5.6, 3.6))
d2l.plot(steps, list(errors.values()), list(errors), fmts=["o-", "s--"],
         xlabel="step h", ylabel="error of the derivative",
         xscale="log", yscale="log", ylim=(1e-12, 1), ax=ax)
slopes = [(h, math.e / 2 * h, math.e / 6 * h * h, 1e-16 * math.e / h)
          for h in steps]
for column, (label, x0, y0) in enumerate([
        ("∝ h", 2e-4, 1e-2), ("∝ h²", 4e-3, 1e-7), ("∝ 1/h", 1e-13, 4e-6)],
        start=1):
    ax.plot(steps, [row[column] for row in slopes], ":", color="#555555",
            lw=1.2)
    ax.text(x0, y0, label, color="#333333")
ax.legend(loc="upper center")
d2l.describe(ax, """Error against the step on logarithmic axes. From the
    right the forward error falls with slope 1 down to a step of 1e-8 and
    the central error with slope 2 down to a step near 1e-5; to the left of
    these both rise along the line 1/h.""")

# %% [markdown]
# **Figure 2.4.5.** Each curve is a V: on the right the formula errs, on the left the rounding.
# The rounding branch jumps up and down, since a rounding error may happen to be small.
# The central quotient is better at its best step by about two orders of magnitude.

# %%
# check 2.4-C3: best steps of both schemes, and rounding at 1e-14
error = {scheme: {k: abs(numerical_derivative(
    math.exp, 1.0, 10.0**-k, scheme) - math.e) for k in range(1, 16)}
    for scheme in ("forward", "central")}
best = {scheme: min(error[scheme], key=error[scheme].get)
        for scheme in error}
assert best["forward"] in (7, 8, 9) and best["central"] in (4, 5, 6, 7)
assert error["forward"][8] < 1e-7 and error["central"][5] < 5e-10
assert error["forward"][14] > 1e-3 and error["central"][14] > 1e-3
assert abs(error["forward"][3] / (1e-3 / 2 * math.e) - 1) < 0.01  # (2.4.7)
assert abs(error["central"][3] / (1e-6 / 6 * math.e) - 1) < 0.01
assert 10 < min(error["forward"].values()) / min(
    error["central"].values()) < 1000
one = torch.tensor(1.0)  # float32: the best step is much larger
single = {k: abs(numerical_derivative(torch.exp, one, 10.0**-k).item()
                 / math.e - 1) for k in range(1, 6)}
assert single[2] < 1e-4 < 1e-3 < min(single[1], single[5])

# %% [markdown]
# Two rules to remember: use central quotients, and use `float64` with $h=10^{-5}$.
# In `float32`, $\epsilon=6\cdot10^{-8}$, the balance lies between $10^{-3}$ and $10^{-2}$, and about four digits of the result are correct.

# %% [markdown]
# ## Partial derivatives
#
# A loss depends on many parameters.
# Hold all but one of them constant, and an ordinary function of one variable remains.
# For $y=f(x_1,\dots,x_n)$ the *partial derivative* with respect to $x_i$ is
#
# $$\frac{\partial y}{\partial x_i} = \lim_{h\to0}\frac{f(\dots,x_i+h,\dots)-f(\dots,x_i,\dots)}{h}, \tag{2.4.8}$$
#
# a number for each point $\mathbf{x}\in\mathbb{R}^n$; the arguments shown as dots stay where they are.
# It is also written $\frac{\partial f}{\partial x_i}=f_{x_i}=f_i=D_if=D_{x_i}f$.
#
# Take $f(x_1,x_2)=3x_1^2+5e^{x_2}$ at the point $(1,0)$.
# With $x_2$ constant, $5e^{x_2}$ is a constant and drops out: $\frac{\partial f}{\partial x_1}=6x_1=6$.
# With $x_1$ constant, $\frac{\partial f}{\partial x_2}=5e^{x_2}=5$.

# %%
def f(x1, x2):
    return 3 * x1**2 + 5 * math.e**x2

# %% tags=["hide-input"]
grid1 = torch.linspace(-0.5, 1.6, 43, dtype=f64)
grid2 = torch.linspace(-1.5, 1.0, 51, dtype=f64)
X1, X2 = torch.meshgrid(grid1, grid2, indexing="ij")  # (43, 51)
fig = plt.figure(figsize=(8.4, 3))
parts = fig.add_gridspec(1, 3, width_ratios=(1.35, 1, 1))
left = fig.add_subplot(parts[0], projection="3d", computed_zorder=False)
left.plot_surface(*(v.numpy() for v in (X1, X2, f(X1, X2))), alpha=0.55,
                  cmap="viridis", rstride=3, cstride=3)
left.plot(grid1, 0 * grid1, f(grid1, 0), color="C0", zorder=3)
left.plot(1 + 0 * grid2, grid2, f(1, grid2), color="C1", zorder=3)
left.set(xlabel="$x_1$", ylabel="$x_2$", xticks=[0, 1], yticks=[-1, 0, 1])
left.view_init(elev=28, azim=-125)
left.set_box_aspect((3, 3, 2.4), zoom=0.9)
for place, grid, value, slope, at, color in (
        (2, grid1, f(grid1, 0), 6, 1, "C0"),
        (3, grid2, f(1, grid2), 5, 0, "C1")):
    ax = fig.add_subplot(parts[place - 1])
    ax.plot(grid, value, color=color)
    ax.plot(grid, slope * (grid - at) + 8, "--", color="black", lw=1.2)
    ax.plot(at, 8, "o", color="black")
    ax.set(xlabel=f"$x_{place - 1}$", ylim=(0, 16.5))
    ax.set_title(f"$x_{4 - place}$ held at {1 - at}: slope {slope}")
d2l.describe(fig, """A curved surface over x1 and x2 with two curves on it
    that cross at the point (1, 0). Beside it the two curves alone, each
    with its tangent at that point, of slope 6 along x1 and 5 along x2.""")

# %% [markdown]
# **Figure 2.4.6.** Two cuts through the surface of $f$ at $(1,0)$.
# A partial derivative is the slope of a cut parallel to an axis.

# %% [markdown]
# ## Gradients
#
# Collect all partial derivatives of a function $f:\mathbb{R}^n\to\mathbb{R}$ in a column, and you have its *gradient*:
#
# $$\nabla_{\mathbf{x}}f(\mathbf{x}) = \left[\frac{\partial f(\mathbf{x})}{\partial x_1},\dots,\frac{\partial f(\mathbf{x})}{\partial x_n}\right]^\top\in\mathbb{R}^n. \tag{2.4.9}$$
#
# It has the shape of $\mathbf{x}$: one number for each knob.
# We write $\nabla f$ where the variable is clear, and use the same idea for parameters of any shape: the gradient with respect to a matrix is a matrix.
#
# A program can estimate it by (2.4.8), one coordinate after the other.
# Each coordinate defines a function of one number $t$, the distance walked along its axis, and `numerical_derivative` does the rest.

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
# check 2.4-C6: gradient of 3 x1^2 + 5 exp(x2) at (1, 0)
def F(x):
    """The same function of one vector x, shape (2,)."""
    return 3 * x[0] ** 2 + 5 * torch.exp(x[1])


point = torch.tensor([1.0, 0.0], dtype=f64)
gradient = numerical_gradient(F, point)
print(gradient)
torch.testing.assert_close(
    gradient, torch.tensor([6.0, 5.0], dtype=f64), rtol=0, atol=1e-8)
assert point.tolist() == [1, 0] and gradient.dtype == f64
assert numerical_gradient(torch.sum, torch.zeros(2, 3, 4)).shape == (2, 3, 4)
halves = numerical_gradient(lambda x: float(u(x).sum()),  # a plain number
                            torch.ones(2, dtype=f64), 0.5, "forward")
assert halves.tolist() == [3.5, 3.5]  # 2 + 3h
assert F(point) == 8 == f(1, 0)
unseen = numerical_gradient(lambda x: x.sum() * (not x.requires_grad),
                            point.clone().requires_grad_())
assert unseen.round().tolist() == [1, 1]  # nothing is recorded
try:
    numerical_gradient(torch.sum, torch.zeros(2, dtype=torch.int64))
    refused = False
except ValueError:
    refused = True
assert refused

# %% [markdown]
# For a million parameters this would take two million evaluations for one gradient.
# [Section 2.5](05-automatic-differentiation.ipynb) gets the whole gradient for the price of a few; the numerical gradient remains as its independent check.
#
# ### What the gradient predicts
#
# In one dimension, a differentiable function looks near a point like its tangent: $f(x+\delta)\approx f(x)+f'(x)\delta$.
# With many variables each coordinate contributes its slope times its step, and near a point the function looks like a plane:
#
# $$f(\mathbf{x}+\boldsymbol\delta) \approx f(\mathbf{x})+\nabla f(\mathbf{x})^\top\boldsymbol\delta, \tag{2.4.10}$$
#
# where $\boldsymbol\delta\in\mathbb{R}^n$ is a small step and the dot product is a number.
# This is Taylor's formula of first order.
# It holds wherever the partial derivatives are continuous, with an error that shrinks faster than the step; for functions that can be differentiated twice, with the square of the step.

# %%
delta = torch.tensor([1.0, -2.0], dtype=f64)
for scale in (0.1, 0.01, 0.001):
    step = scale * delta
    miss = (F(point + step) - F(point) - gradient @ step).item()
    print(f"step {scale:g} · (1, −2): predicted change "
          f"{(gradient @ step).item():+.4f}, missed by {miss:.1e}")
assert abs(miss / scale**2 - (3 + 2.5 * 4)) < 0.1  # half the curvature

# %% [markdown]
# With a step ten times shorter the error is a hundred times smaller.
#
# ### Why the gradient points uphill
#
# Stand at $\mathbf{x}$ and walk in the direction $\mathbf{d}\in\mathbb{R}^n$ with $\|\mathbf{d}\|=1$.
# By (2.4.10) a walk of length $t$ changes $f$ by about $t\,\nabla f^\top\mathbf{d}$, so the slope in this direction, the *directional derivative*, is
#
# $$\lim_{t\to0}\frac{f(\mathbf{x}+t\mathbf{d})-f(\mathbf{x})}{t} = \nabla f(\mathbf{x})^\top\mathbf{d} = \|\nabla f(\mathbf{x})\|\cos\theta \le \|\nabla f(\mathbf{x})\|, \tag{2.4.11}$$
#
# where $\theta$ is the angle between $\mathbf{d}$ and the gradient ([Section 2.3](03-linear-algebra.ipynb)).
# A dot product is never larger than the product of the lengths (the inequality of Cauchy and Schwarz), and if the gradient is not zero, equality holds for $\theta=0$ alone.
# This proves three things at once:
#
# - The steepest ascent is along the gradient, and its slope is $\|\nabla f\|$.
# - The steepest *descent* is along $-\nabla f$, with the slope $-\|\nabla f\|$.
# - Perpendicular to the gradient the slope is 0: there runs the *level set*, the line of equal height on a map.

# %% tags=["hide-input"]
directions = torch.arange(0, 361, dtype=f64) * math.pi / 180  # (361,)
d = torch.stack((directions.cos(), directions.sin()), dim=1)  # (361, 2)
slopes = d @ torch.tensor([3.0, 4.0], dtype=f64)  # (361,)
top = math.degrees(math.atan2(4, 3))
ax = d2l.plot(torch.arange(361), slopes, ylabel="directional derivative",
              xlabel="direction d, degrees from the $x_1$ axis")
for angle, value, name, dx in ((0, 3, "$\\partial f/\\partial x_1$", 12),
                               (90, 4, "$\\partial f/\\partial x_2$", 12),
                               (top, 5, "∇f: (0.6, 0.8)", -45),
                               (top + 180, -5, "−∇f", -17)):
    ax.plot(angle, value, "o", color="C1")
    ax.text(angle + dx, value + (0.5 if abs(value) == 5 else -0.1), name)
ax.set(ylim=(-6, 6.6), xticks=range(0, 361, 45))
d2l.describe(ax, """Slope against direction for the gradient (3, 4): a
    cosine with its maximum 5 at about 53 degrees, where the direction is
    (0.6, 0.8), and its minimum -5 opposite; it takes the values 3 at 0 and
    4 at 90 degrees.""")

# %% [markdown]
# **Figure 2.4.7.** For $\nabla f=(3,4)^\top$ the slope in direction $\mathbf{d}$ is a cosine with height $\|\nabla f\|=5$.
# The partial derivatives are two of its values.

# %%
# check 2.4-C8: the largest slope over all directions is |grad|, along it
fine = torch.linspace(0, 2 * math.pi, 100_001, dtype=f64)
d = torch.stack((fine.cos(), fine.sin()), dim=1)  # (100001, 2)
slopes = d @ torch.tensor([3.0, 4.0], dtype=f64)
best = d[slopes.argmax()]
assert slopes.max() <= 5 + 1e-12 and abs(slopes.max() - 5) < 1e-8
assert (best - torch.tensor([0.6, 0.8], dtype=f64)).abs().max() < 1e-4

# %% [markdown]
# Now walk downhill.
# *Gradient descent* repeats $\mathbf{x}\leftarrow\mathbf{x}-\eta\nabla f(\mathbf{x})$ with a number $\eta>0$, the *learning rate*.
# By (2.4.10) each step promises to lower $f$ by $\eta\|\nabla f\|^2$.

# %%
def bowl(x):
    """x1^2 + 3 x2^2 for a vector or for a grid of shape (2, ...)."""
    return x[0] ** 2 + 3 * x[1] ** 2


path = [torch.tensor([2.2, 1.1], dtype=f64)]
for _ in range(12):
    path.append(path[-1] - 0.1 * numerical_gradient(bowl, path[-1]))
path = torch.stack(path)  # (13, 2)
assert len(path) == 13
assert (bowl(path.T).diff() < 0).all()  # every step of these goes down
slope = numerical_gradient(bowl, path[0])  # 90 degrees to the level set:
along = torch.stack((-6 * path[0, 1], 2 * path[0, 0]))  # its direction
assert abs(slope @ along) < 1e-6 < slope @ path[0]

# %% tags=["hide-input"]
axis1, axis2 = torch.linspace(-2.6, 2.6, 79), torch.linspace(-1.6, 1.6, 49)
grid = torch.stack(torch.meshgrid(axis1, axis2, indexing="xy"))  # (2,49,79)
_, ax = plt.subplots(figsize=(5.8, 3.7))
ax.contour(axis1, axis2, bowl(grid), [0.3, 1, 2, 3.5, 5.5, 8],
           colors="#999999", linewidths=1)
for t in (1.9, 2.6, 3.3, 4.0, 4.7, 5.5):
    at = torch.tensor([math.cos(t) * 2**0.5, math.sin(t) * (2 / 3)**0.5],
                      dtype=f64)  # on the level set of height 2
    tip = at + 0.15 * numerical_gradient(bowl, at)
    ax.annotate("", tip.tolist(), at.tolist(), arrowprops={
        "arrowstyle": "->", "color": "C0", "lw": 1.8, "shrinkA": 0,
        "shrinkB": 0})
ax.plot(*path.T, "o-", ms=4, color="C1")
ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
d2l.describe(ax, """Elliptic level sets of x1^2 + 3 x2^2. Six gradient
    arrows start on one of them, perpendicular to it and pointing outwards.
    A path of gradient descent starts at the upper right, goes steeply
    down first and then bends towards the lowest point.""")

# %% [markdown]
# **Figure 2.4.8.** Level sets of $x_1^2+3x_2^2$.
# Blue: gradients are perpendicular to the level set and point uphill.
# Orange: twelve steps against the gradient; it does not point at the lowest point, only downhill.

# %% [markdown]
# The promise holds for small steps only.
# At $(1,0)$ our function $F$ has the value 8 and $\|\nabla F\|^2=36+25=61$:

# %%
for lr in (0.001, 0.01, 0.1, 1.0):
    after = F(point - lr * gradient).item()
    print(f"lr {lr:<6g} promised {8 - 61 * lr:8.3f}   obtained {after:8.3f}")
kept = [(8 - F(point - lr * gradient)).item() / (61 * lr)
        for lr in (0.001, 0.01, 0.1, 1.0)]
assert kept[0] > 0.99 and kept[1] > 0.95 and kept[2] > 0.6
assert F(point - 1.0 * gradient) > 5 * 8

# %% [markdown]
# Small steps keep the promise, the third one keeps most of it, and the last one lands far higher than it started.
# How large $\eta$ may be is the question of [Section 3.1](../03-linear-regression/01-linear-regression.ipynb).

# %% [markdown]
# ### Rules for vectors and matrices
#
# Five gradients occur again and again.
# Let $\mathbf{x}\in\mathbb{R}^n$ be the variable.
#
# $$\nabla_{\mathbf{x}}\,\mathbf{A}\mathbf{x} = \mathbf{A}^\top\ \ (\mathbf{A}\in\mathbb{R}^{m\times n}),\qquad \nabla_{\mathbf{x}}\,\mathbf{x}^\top\mathbf{A} = \mathbf{A}\ \ (\mathbf{A}\in\mathbb{R}^{n\times m}), \tag{2.4.12}$$
#
# $$\nabla_{\mathbf{x}}\,\mathbf{x}^\top\mathbf{A}\mathbf{x} = (\mathbf{A}+\mathbf{A}^\top)\mathbf{x}\ \ (\mathbf{A}\in\mathbb{R}^{n\times n}),\qquad \nabla_{\mathbf{x}}\|\mathbf{x}\|^2 = 2\mathbf{x},\qquad \nabla_{\mathbf{X}}\|\mathbf{X}\|_F^2 = 2\mathbf{X}. \tag{2.4.13}$$
#
# $\mathbf{A}$ is constant, and $\mathbf{X}$ is a matrix of any shape.
# In (2.4.12) the function has several outputs, and its derivatives form a matrix: by convention *column $i$ is the gradient of output $i$*.
#
# You need not learn them by heart, since each follows from looking at one entry.
#
# - Output $i$ of $\mathbf{A}\mathbf{x}$ is $\sum_ja_{ij}x_j$; its derivative with respect to $x_j$ is $a_{ij}$. Column $i$ of the result is therefore row $i$ of $\mathbf{A}$: the result is $\mathbf{A}^\top$.
# - Output $k$ of $\mathbf{x}^\top\mathbf{A}$ is $\sum_ix_ia_{ik}$, with the derivatives $a_{ik}$: column $k$ of the result is column $k$ of $\mathbf{A}$.
# - In $\mathbf{x}^\top\mathbf{A}\mathbf{x}=\sum_{i,j}a_{ij}x_ix_j$ the variable $x_k$ occurs once as the first and once as the second factor. By the product rule the derivative is $\sum_ja_{kj}x_j+\sum_ia_{ik}x_i$, entry $k$ of $\mathbf{A}\mathbf{x}+\mathbf{A}^\top\mathbf{x}$.
# - $\|\mathbf{x}\|^2=\mathbf{x}^\top\mathbf{x}$ is the previous case with $\mathbf{A}=\mathbf{I}$.
# - In $\|\mathbf{X}\|_F^2=\sum_{i,j}x_{ij}^2$ the entry $x_{kl}$ occurs once, with the derivative $2x_{kl}$.
#
# For example, $x_1^2+x_1x_2=\mathbf{x}^\top\mathbf{A}\mathbf{x}$ with $\mathbf{A}=\begin{bmatrix}1&1\\0&0\end{bmatrix}$, and $(\mathbf{A}+\mathbf{A}^\top)\mathbf{x}=(2x_1+x_2,\ x_1)^\top$, as it should be.

# %% [markdown]
# ### Two layouts
#
# The first rule deserves a warning.
# Part of the literature arranges the derivatives of several outputs the other way round, one *row* for each output:
#
# $$\mathbf{J} = \begin{bmatrix}\frac{\partial y_1}{\partial x_1}&\cdots&\frac{\partial y_1}{\partial x_n}\\ \vdots&\ddots&\vdots\\ \frac{\partial y_m}{\partial x_1}&\cdots&\frac{\partial y_m}{\partial x_n}\end{bmatrix}\in\mathbb{R}^{m\times n}. \tag{2.4.14}$$
#
# This is the *Jacobian* of $\mathbf{y}\in\mathbb{R}^m$ with respect to $\mathbf{x}\in\mathbb{R}^n$, and for $\mathbf{y}=\mathbf{A}\mathbf{x}$ it is $\mathbf{A}$ itself.
# The arrangement is called *numerator layout*, because the numerator $y_i$ counts the rows; the rules (2.4.12) are in *denominator layout*, in which the variable counts the rows and which is the transpose.
# Neither is wrong, and for a single output the gradient has the shape of $\mathbf{x}$ in this book in any case.
# PyTorch returns Jacobians in numerator layout: the shape of the output comes first, then the shape of the input.

# %%
# check 2.4-C5: the five rules, by difference quotients and by PyTorch
rng = torch.Generator().manual_seed(0)
A = torch.randn(3, 4, generator=rng, dtype=f64)  # m = 3, n = 4
S = torch.randn(4, 4, generator=rng, dtype=f64)
v = torch.randn(4, generator=rng, dtype=f64)
M = torch.randn(2, 3, generator=rng, dtype=f64)


def layout_d(y, x):
    """Denominator layout: column i is the gradient of output i."""
    return torch.stack([numerical_gradient(lambda z: y(z)[i], x, h=0.1)
                        for i in range(len(y(x)))], dim=1)


pairs = [(layout_d(lambda x: A @ x, v), A.T),
         (layout_d(lambda x: x @ A.T, v), A.T),  # x'B with B = A' (4, 3)
         (numerical_gradient(lambda x: x @ S @ x, v, h=0.1), (S + S.T) @ v),
         (numerical_gradient(lambda x: x @ x, v, h=0.1), 2 * v),
         (numerical_gradient(lambda X: torch.linalg.matrix_norm(X) ** 2, M,
                             h=0.1), 2 * M),
         (torch.func.grad(lambda x: x @ S @ x)(v), (S + S.T) @ v),
         (torch.func.grad(lambda X: (X * X).sum())(M), 2 * M),
         (torch.func.jacrev(lambda x: A @ x)(v), A)]  # numerator layout
for found, expected in pairs:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)

# %% [markdown]
# The step $h=0.1$ is large on purpose.
# All five functions are polynomials of degree at most 2, for which (2.4.7) says that the central quotient has no error at all, so the largest step has the least rounding.

# %% [markdown]
# ## Chain rule
#
# A gear turns a second one three times as fast as itself, and the second turns a third one twice as fast.
# Then the third turns $2\cdot3=6$ times as fast as the first: rates of coupled quantities multiply.
# If $y=f(u)$ and $u=g(x)$, all numbers, then
#
# $$\frac{dy}{dx} = \frac{dy}{du}\,\frac{du}{dx}, \tag{2.4.15}$$
#
# where the first factor is taken at $u=g(x)$.
# The reason is (2.4.10) used twice: a small change $\delta$ of $x$ changes $u$ by about $g'(x)\,\delta$, and this changes $y$ by about $f'(u)\,g'(x)\,\delta$.
#
# For $y=\sin(x^2)$, $u=x^2$, the rule gives $\cos(x^2)\cdot2x$.

# %%
at = 1.3
chain = math.cos(at**2) * 2 * at
near = numerical_derivative(lambda x: math.sin(x**2), at)
print(f"chain rule {chain:.6f}, difference quotient {near:.6f}")
assert abs(chain - near) < 1e-8

# %% [markdown]
# With several variables there are several ways from $x_i$ to $y$.
# Let $y$ depend on $u_1,\dots,u_m$, and each $u_j$ on $x_1,\dots,x_n$.
# A change of $x_i$ reaches $y$ through every $u_j$, and the contributions add up:
#
# $$\frac{\partial y}{\partial x_i} = \sum_{j=1}^m\frac{\partial y}{\partial u_j}\,\frac{\partial u_j}{\partial x_i},\qquad\text{that is,}\qquad \nabla_{\mathbf{x}}y = \mathbf{J}^\top\,\nabla_{\mathbf{u}}y. \tag{2.4.16}$$
#
# Here $\nabla_{\mathbf{x}}y\in\mathbb{R}^n$, $\nabla_{\mathbf{u}}y\in\mathbb{R}^m$, and $\mathbf{J}\in\mathbb{R}^{m\times n}$ is the Jacobian (2.4.14) of $\mathbf{u}$ with respect to $\mathbf{x}$.
#
# For example, $y=(x_1+x_2)^2\,x_1x_2$ is $u_1^2u_2$ with $u_1=x_1+x_2$ and $u_2=x_1x_2$.
#
# ![A graph. x1 = 1 and x2 = 2 on the left, u1 = 3 and u2 = 2 in the middle, y = 18 on the right. On the arrows stand the derivatives: 1 from x1 to u1, 2 from x1 to u2, 1 from x2 to u1, 1 from x2 to u2, 12 from u1 to y, 9 from u2 to y. The two ways from x1 to y are orange.](img/chain-rule-graph.svg)
#
# **Figure 2.4.9.** At $(1,2)$: multiply along each way, then add the ways.
# For $x_1$ (orange) this gives $1\cdot12+2\cdot9=30$, for $x_2$ it gives $1\cdot12+1\cdot9=21$.

# %%
# check 2.4-C7: value 18, gradient (30, 21) directly and by the chain rule
x1, x2 = 1.0, 2.0
u1, u2 = x1 + x2, x1 * x2
J = torch.tensor([[1.0, 1.0], [x2, x1]], dtype=f64)  # row j: du_j / dx
grad_u = torch.tensor([2 * u1 * u2, u1**2], dtype=f64)
direct = numerical_gradient(lambda x: x.sum() ** 2 * x.prod(),
                            torch.tensor([x1, x2], dtype=f64))
print("J' grad_u =", (J.T @ grad_u).tolist())
assert u1**2 * u2 == 18 and (J.T @ grad_u).tolist() == [30, 21]
torch.testing.assert_close(direct, J.T @ grad_u, rtol=0, atol=1e-7)
a, b = sp.symbols("a b")
formula = (a + b) ** 2 * a * b
assert [formula.diff(s).subs({a: 1, b: 2}) for s in (a, b)] == [30, 21]

# %% [markdown]
# A network is a chain of many such steps, and its gradient is a product of many Jacobians with one vector at the end.
# Formula (2.4.16) can be applied from the end of the chain backwards; then each step multiplies a matrix by a vector, and no two matrices meet.
# That is *backpropagation*, and [Section 2.5](05-automatic-differentiation.ipynb) leaves it to PyTorch.

# %% [markdown]
# ## Summary
#
# - The derivative is the limit of difference quotients; its sign says which way to turn a parameter, its size how much that matters.
# - A central quotient errs by $O(h^2)$ plus about $\epsilon/h$ of rounding, so the best step is near $\epsilon^{1/3}$, not the smallest one.
# - The gradient has the shape of its variable; $f(\mathbf{x}+\boldsymbol\delta)\approx f(\mathbf{x})+\nabla f^\top\boldsymbol\delta$ makes $-\nabla f$ the direction of steepest descent, for small steps.
# - The matrix rules follow from one entry each; the Jacobian of $\mathbf{A}\mathbf{x}$ is $\mathbf{A}$ in numerator layout (PyTorch) and $\mathbf{A}^\top$ in denominator layout.
# - The chain rule multiplies along each way and adds the ways: $\nabla_{\mathbf{x}}y=\mathbf{J}^\top\nabla_{\mathbf{u}}y$.

# %% [markdown]
# ## Exercises
#
# ### Exercise 2.4-1
#
# Prove from the definition (2.4.2) the derivatives of $C$, $x^n$ (for $n=1,2,3,\dots$), $e^x$ and $\log x$, and the rules for products, sums and quotients.

# %% [markdown]
# #### Solution 2.4-1

# %% [markdown]
# *Constant*: the quotient is $(C-C)/h=0$ for every $h$.
#
# *Power*: by the binomial theorem $(x+h)^n=x^n+nx^{n-1}h+h^2(\cdots)$, where the dots are a polynomial in $x$ and $h$.
# Subtract $x^n$, divide by $h$: $nx^{n-1}+h(\cdots)\to nx^{n-1}$.
#
# *Exponential*: $\frac{e^{x+h}-e^x}h=e^x\,\frac{e^h-1}h$.
# With the series $e^h=1+h+\frac{h^2}2+\frac{h^3}6+\cdots$ the last factor is $1+\frac h2+\frac{h^2}6+\cdots\to1$.
#
# *Logarithm*, $x>0$: with $s=\log(x+h)-\log x$ we have $\frac{x+h}x=e^s$, so $h=x(e^s-1)$, and the quotient is $\frac sh=\frac1x\cdot\frac s{e^s-1}$.
# As $h\to0$ also $s\to0$, and the last factor goes to 1 by the previous case.
#
# *Sum*: the quotient of $f+g$ is the sum of the two quotients, and so is the limit.
#
# *Product*: add and subtract $f(x+h)g(x)$:
# $\frac{f(x+h)g(x+h)-f(x)g(x)}h=f(x+h)\,\frac{g(x+h)-g(x)}h+g(x)\,\frac{f(x+h)-f(x)}h\to fg'+gf'$.
# It uses $f(x+h)\to f(x)$: a differentiable function is continuous, because $f(x+h)-f(x)$ is $h$ times something that has a limit.
#
# *Quotient*: first $\frac1h\left(\frac1{g(x+h)}-\frac1{g(x)}\right)=-\frac{g(x+h)-g(x)}h\cdot\frac1{g(x+h)g(x)}\to-\frac{g'}{g^2}$.
# Then the product rule for $f\cdot\frac1g$ gives $\frac{f'}g-\frac{fg'}{g^2}=\frac{gf'-fg'}{g^2}$.

# %%
y = sp.Symbol("y", positive=True)
for function, derivative in ((sp.Integer(7), 0), (x**5, 5 * x**4),
                             (sp.exp(x), sp.exp(x)), (sp.log(x), 1 / x)):
    quotient = (function.subs(x, x + h) - function) / h
    assert sp.simplify(sp.limit(quotient, h, 0) - derivative) == 0
assert sp.limit(y / (sp.exp(y) - 1), y, 0) == 1

# %% [markdown]
# ### Exercise 2.4-2
#
# Find the derivative of $x^x$ for $x>0$.
# Why are $x\cdot x^{x-1}$ and $x^x\log x$ both wrong?

# %% [markdown]
# #### Solution 2.4-2

# %% [markdown]
# Write $x^x=e^{x\log x}$.
# By the chain rule with $u=x\log x$ and the product rule, $u'=\log x+1$, so the derivative is $x^x(\log x+1)$.
# The first wrong answer treats the exponent as constant, the second the base.
# The right one is their sum: $x\cdot x^{x-1}=x^x$, plus $x^x\log x$.
# That is (2.4.16), with one way through the base and one through the exponent.

# %%
for at in (0.2, 1.0, 2.5):
    exact = at**at * (math.log(at) + 1)
    assert abs(numerical_derivative(lambda z: z**z, at) - exact) < 1e-7
assert sp.simplify(sp.diff(x**x, x) - x**x * (sp.log(x) + 1)) == 0

# %% [markdown]
# ### Exercise 2.4-3
#
# Plot $f(x)=x^3-\frac1x$ and its tangent at $x=1$.

# %% [markdown]
# #### Solution 2.4-3

# %% [markdown]
# $f(1)=0$, $f'(x)=3x^2+\frac1{x^2}$, so $f'(1)=4$ and the tangent is $y=4(x-1)$.

# %%
def cubic(x):
    return x**3 - 1 / x


def tangent(x):
    return 4 * (x - 1)


assert cubic(1.0) == tangent(1.0) == 0
for function in (cubic, tangent):
    assert abs(numerical_derivative(function, 1.0) - 4) < 1e-8
xs = torch.linspace(0.3, 2, 100, dtype=f64)
above = cubic(xs) > tangent(xs)
assert torch.equal(above, xs > math.sqrt(2) - 1)
ax = d2l.plot(xs, [cubic(xs), tangent(xs)], ["f(x)", "tangent"],
              xlabel="x", ylabel="y")
ax.plot(1, 0, "o", color="black")
d2l.describe(ax, """The curve x^3 - 1/x, rising from about -3 to 7.5, and
    the line 4 (x - 1), which touches it from below at (1, 0) and crosses it
    further left, near x = 0.4.""")

# %% [markdown]
# **Figure 2.4.10.** The tangent touches the curve at $(1,0)$ from below, since the curve bends upwards there: $f''(1)=4$.
# Left of $\sqrt[4]{1/3}\approx0.76$ the curve bends downwards, and it crosses the line at $\sqrt2-1\approx0.41$.

# %% [markdown]
# ### Exercise 2.4-4
#
# Find the gradient of $f(\mathbf{x})=\|\mathbf{x}\|_2$.
# What happens at $\mathbf{x}=\mathbf{0}$, in mathematics and in PyTorch?

# %% [markdown]
# #### Solution 2.4-4

# %% [markdown]
# With $u=\|\mathbf{x}\|^2$ and $f=\sqrt u$, the chain rule and (2.4.13) give $\frac1{2\sqrt u}\cdot2\mathbf{x}=\frac{\mathbf{x}}{\|\mathbf{x}\|}$, a vector of length 1.
# That is plausible: the fastest way to get away from the origin is straight away from it, and one step adds one step to the distance.
# At $(3,4)$ it is $(0.6,0.8)$.
#
# At $\mathbf{0}$ the norm has a kink in every direction, like $|x|$, and no gradient.
# PyTorch must return something.
# `torch.linalg.vector_norm` returns 0, a sensible convention; the same function written as a root of a sum returns `nan`, since it multiplies the infinite slope of the root by 0.
# A `nan` in the parameters makes the later losses `nan` too.

# %%
def slope_at(f, *values):
    """The gradient that PyTorch reports, see Section 2.5."""
    return torch.func.grad(f)(torch.tensor(values, dtype=f64))


def root(x):
    return (x**2).sum().sqrt()


expected = torch.tensor([0.6, 0.8], dtype=f64)
vector_norm = torch.linalg.vector_norm
for f_norm in (vector_norm, root):
    torch.testing.assert_close(slope_at(f_norm, 3.0, 4.0), expected)
print("vector_norm:", slope_at(vector_norm, 0.0, 0.0).tolist(),
      " root of the sum:", slope_at(root, 0.0, 0.0).tolist())
assert slope_at(vector_norm, 0.0, 0.0).tolist() == [0, 0]
assert slope_at(root, 0.0, 0.0).isnan().all()

# %% [markdown]
# ### Exercise 2.4-5
#
# Let $g=f^{-1}$ be the inverse of a differentiable function, so that $g(f(x))=x$.
# Express $g'$ by $f'$, and derive $D\log y=1/y$ from $De^x=e^x$.

# %% [markdown]
# #### Solution 2.4-5

# %% [markdown]
# Differentiate both sides of $g(f(x))=x$ with the chain rule: $g'(f(x))\,f'(x)=1$.
# With $y=f(x)$, $g'(y)=\frac1{f'(g(y))}$ wherever $f'\ne0$ (and $g$ is then differentiable).
# In the picture, the graph of the inverse is the mirror image at the diagonal, and a slope turns into its reciprocal.
# For $f=\exp$: $g'(y)=\frac1{e^{\log y}}=\frac1y$.

# %%
for at in (0.1, 1.0, 7.0):
    assert abs(numerical_derivative(math.log, at) - 1 / at) < 1e-6
by_rule = 1 / numerical_derivative(math.tanh, math.atanh(0.5))
assert abs(numerical_derivative(math.atanh, 0.5) - by_rule) < 1e-8

# %% [markdown]
# ### Exercise 2.4-6
#
# At a maximum or a minimum inside an interval, a differentiable function has $f'=0$.
# Is the converse true?
# What can one check in addition, and what does this mean for gradient descent?

# %% [markdown]
# #### Solution 2.4-6

# %% [markdown]
# No: $f(x)=x^3$ has $f'(0)=0$, but it rises on both sides of 0.
# It is *enough* that the derivative also changes its sign at the point: from minus to plus for a minimum, from plus to minus for a maximum.
# For $x^3$ it is $3x^2$, positive on both sides.
# If $f''\ne0$ at the point, its sign decides; for $x^3$ and for $x^4$ it is 0, and decides nothing.
#
# A change of sign is not *necessary*.
# A constant has a minimum everywhere, and $f(x)=x^4\left(2+\sin\frac1x\right)$ with $f(0)=0$ has a strict minimum at 0, although its derivative has both signs in every interval next to 0, however short.
#
# Gradient descent stands still wherever the gradient is 0, so it may end at a point that is no minimum.
# On $x^3$ it creeps towards 0 from above, more and more slowly, although smaller values lie just below 0; started below 0, it runs away.
# In many dimensions such points are often *saddles*, which go up in some directions and down in others (Section 12.1).

# %%
def sides(f):
    """Signs of the derivative shortly before and after 0."""
    return [math.copysign(1, numerical_derivative(f, at))
            for at in (-0.1, 0.1)]


cube, fourth = (lambda x: x**3), (lambda x: x**4)
for function in (cube, fourth):
    assert abs(numerical_derivative(function, 0.0)) < 1e-9
assert sides(cube) == [1, 1] and sides(fourth) == [-1, 1]
near = torch.linspace(1e-3, 2e-3, 5001, dtype=f64)
wavy = near**4 * (2 + (1 / near).sin())
rising = wavy.diff() > 0
assert (wavy > 0).all() and rising.any() and not rising.all()
point = 0.5
for step in range(1, 20_001):
    point -= 0.1 * numerical_derivative(cube, point)
    if step in (20, 200, 2000, 20_000):
        print(f"after {step:6,} steps on the cube: {point:.5f}")
        assert 0.5 < point * 0.3 * step < 1  # close to 1 / (0.3 step)
point = -0.5
for _ in range(20):
    point -= 0.1 * numerical_derivative(cube, point)
    if point < -100:
        break
assert point < -100

# %% [markdown]
# ## Sources
#
# - Archimedes, *Measurement of a Circle*, third century BC (with perimeters and 96 sides); J. Gregory, *Vera circuli et hyperbolae quadratura*, 1667: the doubling (2.4.1).
# - N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, 2002, [doi:10.1137/1.9780898718027](https://doi.org/10.1137/1.9780898718027): rounding.
# - J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd edition, 2006, [doi:10.1007/978-0-387-40065-5](https://doi.org/10.1007/978-0-387-40065-5): difference quotients and their best step, steepest descent.
# - T. Parr and J. Howard, The matrix calculus you need for deep learning, 2018, [arXiv:1802.01528](https://arxiv.org/abs/1802.01528): gradients and Jacobians, in numerator layout.
# - K. B. Petersen and M. S. Pedersen, *The Matrix Cookbook*, 2012, [math.uwaterloo.ca/~hwolkowi/matrixcookbook.pdf](https://www.math.uwaterloo.ca/~hwolkowi/matrixcookbook.pdf): a collection of gradients.
# - A. Meurer et al., SymPy: symbolic computing in Python, 2017, [doi:10.7717/peerj-cs.103](https://doi.org/10.7717/peerj-cs.103).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
