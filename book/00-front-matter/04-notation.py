# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         draws: 100000
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
# # 0.4 Notation
#
# A formula says in one line what a program says in ten, but only to a reader who knows its symbols.
# This section lists the symbols of the book, says what each one means, and gives the PyTorch expression that computes it.
# Nothing here has to be learned by heart: come back when a formula puzzles you.

# %% [markdown]
# **You will**
#
# - read every formula of the book, and know the line of code that belongs to it;
# - tell apart what is written alike: a variance and a standard deviation, the two directions of a divergence, counting from one and from zero.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import math

import torch
from IPython.display import Markdown
from torch.distributions import Normal  # noqa: F401 (for the tables)
from torch.nn import functional as F

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
draws = 100_000  # random numbers in the check of the standard deviation

# %% [markdown]
# ## How to read the tables
#
# Each row has a symbol, its meaning, the code for an example, and the value of this code.
# The value is not typed: the cell evaluates the code, so a row that does not run stops the notebook.
#
# In the meanings, "a" marks a placeholder, which stands for any object of its kind, as in "a vector".
# "The" marks a fixed symbol, which means the same thing everywhere, as in "the identity matrix".
# Placeholders are told apart by their typeface: italic for a scalar, bold lower case for a vector, bold upper case for a matrix, sans serif for a tensor with any number of axes.
#
# ![Four boxes. An italic x, a scalar, with a single cell. A bold lower-case x, a vector, with a column of three cells. A bold upper-case X, a matrix, with three rows and two columns. A sans serif X, a tensor, with two grids of three rows and four columns, one behind the other.](img/typefaces.svg)
#
# **Figure 0.4.1.** The typeface tells the number of axes: none, one, two, any number.
#
# Some meanings end with forms that are common elsewhere and that this book does not use.
# The formulas of all sections are compared with these tables whenever the book is built: a symbol that has no row here is an error.
#
# The function `table` does the work.
# It takes rows of symbol, meaning, code, and, where there are any, the forms that are not used.

# %%
def shown(value):
    """A short text for the value of an expression."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(part) for part in value) + "]"
    return str(value)


def table(rows):
    """Rows (symbol, meaning, code[, other forms]) as a table with values."""
    lines = ["| symbol | meaning | code | value |", "| - | - | - | - |"]
    for symbol, meaning, code, *others in rows:
        value = shown(eval(code, globals()))
        if others:
            meaning += f" (elsewhere also ${'$, $'.join(others)}$)"
        symbol, meaning = (  # a bare | would end the cell
            text.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
            for text in (f"${symbol}$", meaning))
        lines.append(f"| {symbol} | {meaning} | `{code}` | `{value}` |")
    return Markdown("\n".join(lines))

# %%
assert shown([1 / 3, torch.tensor([2.0, 0.5])]) == "[0.3333, [2, 0.5]]"
row, = table([(r"|x|\|", "size", "abs(-2)", "m")]).data.splitlines()[2:]
cells = [r"$\vert x\vert \Vert $", "size (elsewhere also $m$)", "`abs(-2)`",
         "`2`"]
assert row == "| " + " | ".join(cells) + " |"

# %% [markdown]
# ## Numerical objects
#
# The examples of this table: a vector, two matrices, and a tensor with three axes.

# %%
x = torch.tensor([3.0, -4.0, 1.0])           # (3,)
y = torch.tensor([2.0, 1.0, -1.0])           # (3,)
X = torch.arange(6.0).reshape(3, 2)          # (3, 2)
A = torch.tensor([[2.0, 1.0], [1.0, 3.0]])   # (2, 2)
T = torch.zeros(2, 3, 4)                     # (2, 3, 4)

# %% tags=["notation", "hide-input"]
objects = [
    (r"x", "a scalar", "torch.tensor(3.0)"),
    (r"\mathbf{x}", "a vector, by default a column", "x"),
    (r"\mathbf{X}", "a matrix", "X"),
    (r"\mathsf{X}", "a tensor with any number of axes", "T.shape"),
    (r"\mathbf{I}", "the identity matrix: 1 on the diagonal, 0 off it",
     "torch.eye(2)"),
    (r"x_i", r"element $i$ of $\mathbf{x}$, also $[\mathbf{x}]_i$; here $x_1$",
     "x[0]"),
    (r"x_{ij}", r"the element of $\mathbf{X}$ in row $i$ and column $j$, also "
     r"$x_{i,j}$, $[\mathbf{X}]_{ij}$, $[\mathbf{X}]_{i,j}$; here $x_{21}$",
     "X[1, 0]"),
    (r"\mathbf{X}_{:j}", r"column $j$ of $\mathbf{X}$; row $i$ is "
     r"$\mathbf{X}_{i:}$; here column 2", "X[:, 1]"),
    (r"\mathbf{x}^{(i)}", "example $i$ of a data set; its feature $j$ is "
     "$x^{(i)}_j$", "X[0]"),
    (r"\boldsymbol{\mu}", "a vector named by a Greek letter", "X.mean(0)"),
    (r"\hat y", "an estimate or a prediction of $y$", "X @ A[0]"),
    (r"\bar x", "a mean of $x$", "x.mean()"),
    (r"\tilde x", "a changed version of $x$", "x + 0.1"),
    (r"\dots", r"and so on; between operators $\cdots$, $\vdots$, $\ddots$",
     "[1, 2, 3]"),
    (r"\infty", "infinity", "math.inf"),
]
table(objects)

# %% [markdown]
# Formulas count from 1, as mathematics does; code counts from 0, as Python does.
# The first element is $x_1$ in a formula and `x[0]` in a program, and mixing up the two is a common mistake in translating one into the other.

# %%
# check 0.4-C7: the first element, x_1 in formulas, has index 0 in code
assert x[0] == 3.0
assert X[1, 0] == X.flatten()[2] == 2.0  # row 2, column 1

# %%
# check 0.4-C1: the identity matrix changes nothing
assert torch.equal(torch.eye(3) @ X, X)

# %% [markdown]
# ## Sets

# %% tags=["notation", "hide-input"]
sets = [
    (r"\mathcal{X}", "a set", "{1, 2, 3}"),
    (r"\{\dots\}", "the set of the listed members", "{2, 4}"),
    (r"\mathbb{Z}", "the integers", "torch.tensor([-1, 0, 1]).dtype"),
    (r"\mathbb{Z}^+", "the positive integers", "list(range(1, 4))"),
    (r"\mathbb{R}", r"the real numbers; $\mathbb{C}$ the complex ones",
     "x.dtype"),
    (r"\mathbb{R}^n", "the vectors of $n$ real numbers", "x.shape"),
    (r"\mathbb{R}^{a\times b}", "the real matrices with $a$ rows and $b$ "
     "columns", "X.shape"),
    (r"|\mathcal{X}|", "the number of members, the cardinality",
     "len({1, 2, 3})"),
    (r"\mathcal{A}\cup\mathcal{B}", r"the union; $\bigcup_i\mathcal{A}_i$ "
     "of many", "{1, 2} | {2, 3}"),
    (r"\mathcal{A}\cap\mathcal{B}", "the intersection", "{1, 2} & {2, 3}"),
    (r"\mathcal{A}\setminus\mathcal{B}",
     r"the members of $\mathcal{A}$ that are not in $\mathcal{B}$",
     "{1, 2} - {2, 3}"),
    (r"\emptyset", "the empty set", "set()", r"\varnothing"),
    (r"x\in\mathcal{X}", "$x$ is a member", "2 in {1, 2}"),
    (r"x\notin\mathcal{X}", "$x$ is not a member", "5 not in {1, 2}"),
    (r"\mathcal{A}\subseteq\mathcal{B}", r"all of $\mathcal{A}$ is in "
     r"$\mathcal{B}$, $\subset$ if they differ", "{1} <= {1, 2}"),
]
table(sets)

# %% [markdown]
# ## Functions and operators

# %% tags=["notation", "hide-input"]
functions = [
    (r"f(\cdot)", "a function; the dot stands for its argument",
     "torch.tanh(x)"),
    (r"f:\mathcal{A}\to\mathcal{B}", "a function from one set to another; "
     r"$x\mapsto f(x)$ names its rule", "(lambda x: x ** 2)(3)"),
    (r"f\circ g", "first $g$, then $f$", "torch.exp(torch.sin(x[2]))"),
    (r"\log x", "the natural logarithm", "math.log(10)", r"\ln"),
    (r"\log_2 x", "the logarithm to base 2; likewise to base 10",
     "math.log2(8)"),
    (r"\exp x", "the exponential function, also $e^x$", "math.exp(1)"),
    (r"\sin x", r"the functions of trigonometry, also $\cos$, $\tan$; "
     r"$\tanh$ is the hyperbolic tangent", "math.sin(math.pi / 2)"),
    (r"\sqrt x", "the square root", "math.sqrt(16)"),
    (r"\mathbf{1}(\cdot)", "the indicator: 1 if the argument holds, else 0",
     "(x > 0).int()", r"\mathbb{I}"),
    (r"\mathbf{1}_{\mathcal{X}}(z)", r"the indicator of $z\in\mathcal{X}$",
     "int(2 in {1, 2})"),
    (r"\max_i x_i", r"the largest value; $\min$ the smallest", "x.max()"),
    (r"\operatorname*{argmax}_i x_i", r"where the largest value is; "
     r"$\operatorname*{argmin}$ the smallest", "int(x.argmax()) + 1",
     r"\arg\max"),
    (r"\sum_i x_i", "the sum", "x.sum()"),
    (r"\prod_i x_i", "the product", "x.prod()"),
    (r"\lceil x\rceil", r"the next integer upwards; $\lfloor x\rfloor$ "
     "downwards", "math.ceil(2.1)"),
    (r"n!", r"the factorial; $\binom nk$ is the binomial coefficient",
     "math.factorial(4)"),
    (r"\lim_{h\to 0}", "the limit", "math.sin(1e-6) / 1e-6"),
]
table(functions)

# %% [markdown]
# ## Operations on vectors and matrices

# %% tags=["notation", "hide-input"]
algebra = [
    (r"\mathbf{X}^\top", "the transpose", "X.T", r"\mathbf{X}^T"),
    (r"\mathbf{A}^{-1}", r"the inverse; $\mathbf{A}^+$ is the pseudoinverse",
     "torch.linalg.inv(A)", r"\mathbf{A}^\dagger"),
    (r"\mathbf{X}\mathbf{A}", "the matrix product", "X @ A"),
    (r"\mathbf{x}\odot\mathbf{y}", "the elementwise (Hadamard) product",
     "x * y"),
    (r"a\cdot b", "the product of two numbers", "3 * 4"),
    (r"a\times b", "the same with sizes and powers of ten", "200 * 200"),
    (r"\mathbf{x}^\top\mathbf{y}",
     r"the dot product, also $\langle\mathbf{x},\mathbf{y}\rangle$", "x @ y"),
    (r"\mathbf{x}\otimes\mathbf{y}", "the outer product", "x.outer(y)"),
    (r"\mathbf{X}\star\mathbf{K}", "the cross-correlation with a kernel",
     "F.conv2d(X[None], torch.ones(1, 1, 1, 1))[0]"),
    (r"[\mathbf{x},\mathbf{y}]", "the concatenation", "torch.cat([x, y])"),
    (r"\|\mathbf{x}\|_p", r"the $\ell_p$ norm",
     "torch.linalg.vector_norm(x, 1)"),
    (r"\|\mathbf{x}\|", r"the $\ell_2$ norm, the length",
     "torch.linalg.vector_norm(x)"),
    (r"\|\mathbf{X}\|_F", "the Frobenius norm",
     "torch.linalg.matrix_norm(X)"),
    (r"\operatorname{tr}\mathbf{A}", "the trace", "A.trace()"),
    (r"\det\mathbf{A}", "the determinant", "A.det()"),
    (r"\operatorname{diag}(\mathbf{x})", "the diagonal matrix of a vector",
     "torch.diag(x[:2])"),
    (r"\operatorname{rank}\mathbf{A}", "the rank",
     "torch.linalg.matrix_rank(A)"),
    (r"\mathbf{x}\perp\mathbf{y}", "the vectors are orthogonal",
     "(y[:2] @ torch.tensor([1.0, -2.0])) == 0"),
]
table(algebra)

# %% [markdown]
# ## Relations and assignments

# %% tags=["notation", "hide-input"]
relations = [
    (r"a\stackrel{\mathrm{def}}{=}b", "the equation defines its left side",
     "(a := 3 + 4)", ":=", "=:", r"\triangleq"),
    (r"a\leftarrow b", "the variable $a$ takes the new value $b$",
     "(a := a + 1)"),
    (r"a\ne b", "not equal", "1 != 2"),
    (r"a\le b", r"at most; $a\ge b$ at least", "1 <= 2"),
    (r"a\ll b", r"much smaller; $a\gg b$ much larger", "1e-9 < 1"),
    (r"a\approx b", "about equal", "abs(22 / 7 - math.pi) < 0.01",
     r"\simeq", r"\cong"),
    (r"a\propto b", "equal up to a constant factor", "(2 * x) / x"),
    (r"a\pm b", r"$a+b$ or $a-b$; also an interval around $a$; $\mp$ in the "
     "other order", "(3 - 1, 3 + 1)"),
    (r"a\implies b", r"if $a$ then $b$; $a\iff b$ also the other way round",
     "(not True) or True", r"\Rightarrow", r"\Leftrightarrow"),
    (r"\forall x", r"for all $x$; $\exists x$: there is an $x$",
     "all(v > -5 for v in x)"),
    (r"a\lor b", r"$a$ or $b$; $a\land b$: $a$ and $b$; $\lnot a$: not $a$",
     "True or False"),
]
table(relations)

# %% [markdown]
# ## Calculus
#
# Derivatives are computed by the machinery of [Section 2.5](../02-preliminaries/05-automatic-differentiation.ipynb); here they only have to have a name.

# %%
def slope(f, *at):
    """Derivatives of f at a point, one for each argument."""
    at = [torch.tensor(float(v), requires_grad=True) for v in at]
    return torch.autograd.grad(f(*at), at)


def area(f, a, b, n=10_000):
    """The integral of f from a to b by the trapezoidal rule."""
    grid = torch.linspace(a, b, n + 1, dtype=torch.float64)
    return torch.trapezoid(f(grid), grid)

# %%
assert slope(lambda x, z: x * z**2, 3, 5) == (25, 30)  # by x, then by z
assert abs(area(lambda x: x, 0, 1) - 0.5) < 1e-9
assert abs(area(torch.cos, 0, math.pi / 2) - 1) < 1e-8

# %% tags=["notation", "hide-input"]
calculus = [
    (r"\frac{dy}{dx}", "the derivative of $y$ with respect to $x$; also "
     "$f'(x)$", "slope(lambda x: x**2, 3)[0]"),
    (r"\frac{\partial y}{\partial x}", "the partial derivative: all other "
     "arguments held constant", "slope(lambda x, z: x * z, 3, 5)[0]"),
    (r"\nabla_{\mathbf{x}}y", r"the gradient with respect to $\mathbf{x}$",
     "slope(lambda x, z: x * z, 3, 5)"),
    (r"\mathbf{J}", r"the Jacobian matrix, $J_{ij}=\partial y_i/\partial x_j$",
     "torch.func.jacrev(lambda x: X @ x)(torch.ones(2))"),
    (r"\int_a^b f(x)\,dx", r"the definite integral; $\iint$ over two "
     "variables", "area(torch.sin, 0, math.pi)"),
    (r"\int f(x)\,dx", "the integral over the whole range of $x$",
     "area(lambda x: torch.exp(-x**2 / 2), -10, 10)"),
]
table(calculus)

# %% [markdown]
# ## Probability and information
#
# The examples are two distributions on two outcomes, $P$ fair and $Q$ lopsided, a table of joint probabilities, and ten thousand draws of two related variables.

# %%
p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
joint = torch.tensor([[0.45, 0.05], [0.45, 0.05]])  # P(X=x, Y=y), (2, 2)
rng = torch.Generator().manual_seed(4)
u = torch.randn(10_000, generator=rng)            # (10000,)
v = u + 0.5 * torch.randn(10_000, generator=rng)  # (10000,)

# %% tags=["notation", "hide-input"]
probability = [
    (r"X", "a random variable; in this part capitals are not matrices",
     "u.shape"),
    (r"P", "a distribution", "p"),
    (r"X\sim P", "$X$ has the distribution $P$",
     "p.multinomial(5, True, generator=rng)"),
    (r"\mathcal{N}(\mu,\sigma^2)", r"the normal distribution with mean $\mu$ "
     r"and *variance* $\sigma^2$", "Normal(1.0, 2.0).variance"),
    (r"\epsilon\sim\mathcal{N}(0,0.01^2)", "noise with mean 0 and variance "
     "$0.01^2$", "Normal(0.0, 0.01).variance"),
    (r"\mathcal{U}(a,b)", "the uniform distribution between $a$ and $b$",
     "torch.distributions.Uniform(0.0, 6.0).mean"),
    (r"P(X=x)", "the probability that $X$ takes the value $x$", "p[0]",
     r"\Pr", r"\mathbb{P}"),
    (r"P(X\mid Y)", r"the distribution of $X$ given $Y$",
     "(v[u > 1] > 0).float().mean()"),
    (r"p(\cdot)", "a probability density",
     "Normal(0.0, 0.1).log_prob(torch.tensor(0.0)).exp()"),
    (r"E[X]", "the expectation of $X$", "p @ torch.tensor([1.0, 6.0])",
     r"\mathbb{E}", r"\mathrm{E}", r"\operatorname{E}"),
    (r"X\perp Y", r"$X$ and $Y$ are independent; $X\perp Y\mid Z$ given $Z$",
     "torch.allclose(joint, joint.sum(1).outer(joint.sum(0)))"),
    (r"\operatorname{Var}(X)", r"the variance, also $\sigma_X^2$", "u.var()",
     r"\mathrm{Var}", r"\mathbb{V}"),
    (r"\sigma_X", "the standard deviation", "u.std()"),
    (r"\operatorname{Cov}(X,Y)", "the covariance",
     "torch.cov(torch.stack([u, v]))[0, 1]", r"\mathrm{Cov}"),
]
table(probability)

# %%
# the row on independence: false as soon as one entry moves
moved = joint + torch.tensor([[0.05, -0.05], [-0.05, 0.05]])
assert torch.allclose(joint, joint.sum(1).outer(joint.sum(0)))
assert not torch.allclose(moved, moved.sum(1).outer(moved.sum(0)))

# %% tags=["notation", "hide-input"]
information = [
    (r"\rho(X,Y)", r"the correlation, $\frac{\operatorname{Cov}(X,Y)}"
     r"{\sigma_X\sigma_Y}$", "torch.corrcoef(torch.stack([u, v]))[0, 1]"),
    (r"H(X)", "the entropy", "-(p * p.log()).sum()"),
    (r"H(P,Q)", r"the cross-entropy of $Q$ under $P$", "-(p * q.log()).sum()"),
    (r"D_{\mathrm{KL}}(P\|Q)", "the Kullback-Leibler divergence, "
     r"$H(P,Q)-H(P)$", "F.kl_div(q.log(), p, reduction='sum')"),
    (r"o_i", r"a logit: $P(y=i)\propto\exp o_i$", "q.log()"),
    (r"\operatorname{softmax}(\mathbf{o})_i",
     r"the probability $\exp o_i/\sum_j\exp o_j$",
     "torch.softmax(torch.tensor([1.0, 2.0, 3.0]), 0)"),
    (r"R", "the risk, the generalization error", "(u - v).square().mean()"),
    (r"R_{\mathrm{emp}}", "the empirical risk, the training error",
     "(u - v)[:100].square().mean()"),
    (r"\lambda", r"the strength of a penalty; $\eta$ the learning rate",
     "0.03"),
]
table(information)

# %% [markdown]
# Most values in the tables can be had by hand or from known constants.
# The next two cells, one with these numbers and one that compares, check more than half of the rows.

# %% tags=["hide-input"]
by_hand = {
    r"x_i": 3, r"x_{ij}": 2, r"\mathbf{X}_{:j}": [1, 3, 5],
    r"\mathbf{x}^{(i)}": [0, 1], r"\boldsymbol{\mu}": [2, 3],
    r"\hat y": [1, 7, 13], r"\bar x": 0, r"|\mathcal{X}|": 3,
    r"f\circ g": math.exp(math.sin(1)), r"\log x": 2.302585,
    r"\log_2 x": 3, r"\exp x": math.e, r"\sin x": 1, r"\sqrt x": 4,
    r"\mathbf{1}(\cdot)": [1, 0, 1], r"\max_i x_i": 3,
    r"\operatorname*{argmax}_i x_i": 1, r"\sum_i x_i": 0,
    r"\prod_i x_i": -12, r"\lceil x\rceil": 3, r"n!": 24,
    r"\lim_{h\to 0}": 1, r"\mathbf{X}^\top": [[0, 2, 4], [1, 3, 5]],
    r"\mathbf{A}^{-1}": [[0.6, -0.2], [-0.2, 0.4]],
    r"\mathbf{X}\mathbf{A}": [[1, 3], [7, 11], [13, 19]],
    r"\mathbf{x}\odot\mathbf{y}": [6, -4, -1],
    r"\mathbf{x}^\top\mathbf{y}": 1,
    r"\mathbf{x}\otimes\mathbf{y}": [[6, 3, -3], [-8, -4, 4], [2, 1, -1]],
    r"\|\mathbf{x}\|_p": 8, r"\|\mathbf{x}\|": math.sqrt(26),
    r"\|\mathbf{X}\|_F": math.sqrt(55), r"\operatorname{tr}\mathbf{A}": 5,
    r"\det\mathbf{A}": 5, r"\operatorname{rank}\mathbf{A}": 2,
    r"\operatorname{diag}(\mathbf{x})": [[3, 0], [0, -4]],
    r"a\propto b": [2, 2, 2], r"a\pm b": [2, 4],
    r"\frac{dy}{dx}": 6, r"\frac{\partial y}{\partial x}": 5,
    r"\nabla_{\mathbf{x}}y": [5, 3], 
    r"\mathbf{J}": [[0, 1], [2, 3], [4, 5]],
    r"\int_a^b f(x)\,dx": 2, r"\int f(x)\,dx": math.sqrt(2 * math.pi),
    r"\mathcal{N}(\mu,\sigma^2)": 4, r"\mathcal{U}(a,b)": 3,
    r"P(X=x)": 0.5, r"p(\cdot)": 10 / math.sqrt(2 * math.pi),
    r"E[X]": 3.5, r"H(X)": math.log(2)}

# %% tags=["hide-input"]
codes = {row[0]: row[2] for rows in (
    objects, sets, functions, algebra, relations, calculus, probability,
    information) for row in rows}
for symbol, value in by_hand.items():
    torch.testing.assert_close(
        torch.as_tensor(eval(codes[symbol])).double(),
        torch.tensor(value).double(), rtol=1e-5, atol=1e-6)
for symbol, code in codes.items():  # a row about truth has a true example
    if shown(value := eval(code)) in ("True", "False"):
        assert value, symbol
assert eval(codes[r"\mathcal{A}\cup\mathcal{B}"]) == {1, 2, 3}
assert eval(codes[r"\mathcal{A}\cap\mathcal{B}"]) == {2}
assert eval(codes[r"\mathcal{A}\setminus\mathcal{B}"]) == {1}
other = {"x": y, "A": X[1:]}  # x has sum = mean, A trace = determinant
for symbol, value in ((r"\bar x", 2 / 3), (r"\sum_i x_i", 2),
                      (r"\operatorname{tr}\mathbf{A}", 7),
                      (r"\det\mathbf{A}", -2)):
    assert math.isclose(eval(codes[symbol], other), value, rel_tol=1e-5)

# %% [markdown]
# ## Three traps
#
# **Variance or standard deviation.**
# The second argument of $\mathcal{N}(\mu,\sigma^2)$ is a variance, that of `torch.normal` and `Normal` a standard deviation.
# Noise $\epsilon\sim\mathcal{N}(0,0.01^2)$ is therefore `torch.normal(0., 0.01, …)`.
# Read as a variance, 0.01 would give a standard deviation of 0.1, ten times too much.

# %%
# check 0.4-C4: torch.normal takes a standard deviation, not a variance
rng = torch.Generator().manual_seed(5)
noise = torch.normal(0.0, 0.01, (draws,), generator=rng)
print(f"standard deviation {noise.std():.4f}")
assert 0.0095 <= noise.std() <= 0.0105

# %% [markdown]
# **The direction of a divergence.**
# $D_{\mathrm{KL}}(P\|Q)$ and $D_{\mathrm{KL}}(Q\|P)$ are different numbers.
# `F.kl_div` names its arguments the other way round: `F.kl_div(log_q, p, reduction="sum")` is $D_{\mathrm{KL}}(P\|Q)$, and it wants the *logarithm* of $Q$, first.

# %%
# check 0.4-C2: the two directions, and the order of arguments
p_to_q = F.kl_div(q.log(), p, reduction="sum")
q_to_p = F.kl_div(p.log(), q, reduction="sum")
print(f"D(P||Q) = {p_to_q:.4f}, D(Q||P) = {q_to_p:.4f}")
torch.testing.assert_close(p_to_q, (p * (p / q).log()).sum())
assert abs(p_to_q - 0.5108) < 5e-5
assert abs(q_to_p - 0.3681) < 5e-5

# %% [markdown]
# **The base of a logarithm.**
# $\log$ is natural in formulas and in `torch.log`; information is then measured in *nats*.
# Divided by $\log 2$ it is in bits.
# The entropy of a fair coin is $\log 2$ nats or one bit.

# %%
# check 0.4-C3: entropy, cross-entropy, and the divergence between them
H_p, H_pq = -(p * p.log()).sum(), -(p * q.log()).sum()
torch.testing.assert_close(H_p, torch.tensor(math.log(2)))
torch.testing.assert_close(H_p / math.log(2), torch.tensor(1.0))  # one bit
torch.testing.assert_close(H_pq, H_p + p_to_q)
assert abs(H_pq - 1.2040) < 5e-5

# %%
# check 0.4-C5: a variable is perfectly correlated with its double
torch.testing.assert_close(torch.corrcoef(torch.stack([u, 2 * u]))[0, 1],
                           torch.tensor(1.0))

# %%
# check 0.4-C6: softmax of (1, 2, 3)
torch.testing.assert_close(
    torch.softmax(torch.tensor([1.0, 2.0, 3.0]), 0),
    torch.tensor([0.0900, 0.2447, 0.6652]), atol=5e-5, rtol=0)

# %% [markdown]
# The two directions of the divergence punish different faults.
# The figure lets $Q$ vary while $P$ stays fair.
# $D_{\mathrm{KL}}(P\|Q)$ grows without bound as $Q$ gives up one of the outcomes, because $P$ still produces it; $D_{\mathrm{KL}}(Q\|P)$ stays below $\log 2$.

# %%
first = torch.linspace(0.001, 0.999, 999)          # Q of the first outcome
Q = torch.stack([first, 1 - first])                # (2, 999)
forward = (0.5 * (0.5 / Q).log()).sum(0)           # D(P||Q)
backward = (Q * (Q / 0.5).log()).sum(0)            # D(Q||P)
ax = d2l.plot(first, [forward, backward],
              [r"$D_{\mathrm{KL}}(P\|Q)$", r"$D_{\mathrm{KL}}(Q\|P)$"],
              xlabel="probability of the first outcome under $Q$",
              ylabel="divergence (nats)")
ax.axhline(math.log(2), color="gray", lw=1, ls=":")
ax.text(0.5, math.log(2) + 0.05, r"$\log 2$", ha="center", color="dimgray")
assert backward.max() < math.log(2) < forward.max()
near = (first - 0.5).abs() < 0.05  # where they agree
torch.testing.assert_close(forward[near], backward[near],
                           rtol=0.01, atol=1e-6)
d2l.describe(ax, "Two curves over the probability that Q gives to the first "
             "outcome, both zero at one half. The divergence from P to Q "
             "rises steeply towards both ends, the divergence from Q to P "
             "stays below the logarithm of two.")

# %% [markdown]
# **Figure 0.4.2.** The two directions of the divergence from a fair coin $P$.
# They agree to second order around $Q=P$ and part towards the ends.

# %% [markdown]
# ## Summary
#
# - The typeface of a letter says what it stands for: $x$ a scalar, $\mathbf{x}$ a vector, $\mathbf{X}$ a matrix, $\mathsf{X}$ a tensor.
# - Examples carry superscripts, $\mathbf{x}^{(i)}$, coordinates subscripts, $x_j$; formulas count from 1 and code from 0.
# - $\mathcal{N}(\mu,\sigma^2)$ takes a variance, PyTorch a standard deviation.
# - `F.kl_div(log_q, p)` is $D_{\mathrm{KL}}(P\|Q)$; the other direction is another number.
# - $\log$ is the natural logarithm in formulas and in code.

# %% [markdown]
# ## Exercises
#
# ### Exercise 0.4-1
#
# Translate into one line of code each, with $\mathbf{x}$, $\mathbf{y}$ and $\mathbf{A}$ from above:
# (a) $\sum_i x_iy_i$; (b) $\sqrt{\sum_i x_i^2}$; (c) $\frac1n\sum_{i=1}^n\mathbf{1}(x_i>y_i)$; (d) $\mathbf{A}^\top\mathbf{A}$; (e) $\max_i|x_i|$; (f) $\prod_i\exp x_i$.

# %% [markdown]
# #### Solution 0.4-1

# %% [markdown]
# The reference values follow by hand from $\mathbf{x}=(3,-4,1)$, $\mathbf{y}=(2,1,-1)$ and $\mathbf{A}$ with rows $(2,1)$ and $(1,3)$.
# In (f) the exponents add up to zero, so the product is 1.

# %%
answers = {
    "a": x @ y,
    "b": x.square().sum().sqrt(),
    "c": (x > y).float().mean(),
    "d": A.T @ A,
    "e": x.abs().max(),
    "f": x.exp().prod(),
}
reference = {"a": 1.0, "b": math.sqrt(26), "c": 2 / 3,
             "d": [[5.0, 5.0], [5.0, 10.0]], "e": 4.0, "f": 1.0}
for name, value in answers.items():
    torch.testing.assert_close(value, torch.tensor(reference[name]))

# %% [markdown]
# ### Exercise 0.4-2
#
# Find two distributions on two outcomes with $D_{\mathrm{KL}}(P\|Q)>10\,D_{\mathrm{KL}}(Q\|P)$.

# %% [markdown]
# #### Solution 0.4-2

# %% [markdown]
# Figure 0.4.2 shows where to look: $Q$ has to give almost no probability to an outcome that $P$ often produces.
# The backward divergence is then bounded by $\log 2$, while the forward one grows like $-\frac12\log\varepsilon$, where $\varepsilon$ is the probability that is left.

# %%
def kl(p, q):
    """D(P||Q) in nats for two probability vectors."""
    return (p * (p / q).log()).sum()

rare = 1e-8
p2 = torch.tensor([0.5, 0.5], dtype=torch.float64)
q2 = torch.tensor([1 - rare, rare], dtype=torch.float64)
print(f"ratio {kl(p2, q2) / kl(q2, p2):.1f}")
assert kl(p2, q2) > 10 * kl(q2, p2)
assert 0.69 < kl(q2, p2) < math.log(2)  # bounded by log 2

# %% [markdown]
# ### Exercise 0.4-3
#
# Express the membership indicator $\mathbf{1}_{\mathcal{X}}(z)$ for all elements $z$ of a tensor at once.

# %% [markdown]
# #### Solution 0.4-3

# %% [markdown]
# `torch.isin` compares every element with every member.

# %%
z, members = torch.tensor([5, 2, 7, 2]), torch.tensor([2, 3, 5])
indicator = torch.isin(z, members).int()
assert indicator.tolist() == [int(v in {2, 3, 5}) for v in z.tolist()]
assert indicator.tolist() == [1, 1, 0, 1]

# %% [markdown]
# ### Exercise 0.4-4
#
# Write $\sum_i\mathbf{1}(x_i>0)$ in code in two ways.

# %% [markdown]
# #### Solution 0.4-4

# %% [markdown]
# A comparison gives a tensor of truth values; `sum` counts the true ones, since they convert to 1.
# `count_nonzero` counts without converting.

# %%
assert (x > 0).sum() == torch.count_nonzero(x > 0) == 2

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): most symbols of this list.
# - I. Goodfellow, Y. Bengio, A. Courville (2016). Deep Learning. MIT Press, [deeplearningbook.org](https://www.deeplearningbook.org/): notation in the same spirit.
# - ISO 80000-2:2019, Quantities and units, Part 2: Mathematics, [iso.org/standard/64973.html](https://www.iso.org/standard/64973.html): the sign for definitions and the names of functions.
# - PyTorch documentation, [torch.nn.functional.kl_div](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html) and [torch.normal](https://docs.pytorch.org/docs/stable/generated/torch.normal.html): order and meaning of the arguments.
