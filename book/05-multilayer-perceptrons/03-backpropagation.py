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
# # 5.3 Forward propagation, backward propagation, and computational graphs
#
# One call of `backward()` has done our differentiation so far.
# What does it compute, why does it need the results of the forward pass, and why does training take so much more memory than prediction?
# Here we do its work ourselves: first with pencil and paper for a network with one hidden layer, then with a small program for any network.
# Both must agree with PyTorch to the last digits.

# %% [markdown]
# **You will**
#
# - run backpropagation by hand for a regularized network, for one example and for a minibatch;
# - build an engine that records a computation and differentiates it;
# - check a gradient numerically, with a step size that you can justify;
# - predict the memory and the arithmetic that training costs, and trade one for the other by checkpointing.
#
# **Cost**: a few seconds on a CPU, no download, no use for a GPU.

# %%
from types import SimpleNamespace

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_classification import one_hot
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.preliminaries import numerical_gradient

d2l.use_style()
f64 = torch.float64  # 16 digits: a wrong formula cannot hide in rounding

# %% [markdown]
# ## Forward propagation
#
# *Forward propagation*, or the forward pass, computes the intermediate results of a network in order, from the input to the output, and stores them.
# We take a network with one hidden layer and weight decay, leave out the biases to keep the formulas short (Exercise 5.3-2 adds them), and start with a single example $\mathbf{x}$ with label $y$.
#
# The first step is a linear map,
#
# $$\mathbf{z} = \mathbf{W}^{(1)}\mathbf{x}, \tag{5.3.1}$$
#
# with the input $\mathbf{x}\in\mathbb{R}^d$, the weights $\mathbf{W}^{(1)}\in\mathbb{R}^{h\times d}$ of the hidden layer, and the weighted sums $\mathbf{z}\in\mathbb{R}^h$.
# The activation function is applied to each entry,
#
# $$\mathbf{h} = \phi(\mathbf{z}), \tag{5.3.2}$$
#
# which gives the hidden representation $\mathbf{h}\in\mathbb{R}^h$, an intermediate result like $\mathbf{z}$.
# The output layer is linear again:
#
# $$\mathbf{o} = \mathbf{W}^{(2)}\mathbf{h}, \tag{5.3.3}$$
#
# with weights $\mathbf{W}^{(2)}\in\mathbb{R}^{q\times h}$ and one score $o_k$ for each of the $q$ classes, $\mathbf{o}\in\mathbb{R}^q$.
# A loss function compares the scores with the label:
#
# $$L = l(\mathbf{o},y). \tag{5.3.4}$$
#
# $L$ is a number; for us $l$ is the cross-entropy of [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb).
# The penalty of [Section 3.7](../03-linear-regression/07-weight-decay.ipynb) does not look at the data at all:
#
# $$s = \frac\lambda2\left(\|\mathbf{W}^{(1)}\|_F^2+\|\mathbf{W}^{(2)}\|_F^2\right), \tag{5.3.5}$$
#
# where $\lambda\ge0$ is the strength of the decay, and the *Frobenius norm* $\|\mathbf{W}\|_F$ is the $\ell_2$ norm of the matrix flattened into a vector: $\|\mathbf{W}\|_F^2$ is the sum of all squared entries.
# What training minimizes is the *objective*, the number
#
# $$J = L+s. \tag{5.3.6}$$
#
# The code is the six equations.
# It returns everything it computed, because the way back will ask for it.
# The activation comes as a pair: the function $\phi$, and its derivative $\phi'$ for later.

# %%
ACTIVATIONS = {
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    "sigmoid": (torch.sigmoid,
                lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z))),
}


def forward(x, y, W1, W2, lam, phi):
    """One example: x (d,), integer label y, W1 (h, d), W2 (q, h)."""
    z = W1 @ x  # (h,)
    h = ACTIVATIONS[phi][0](z)  # (h,)
    o = W2 @ h  # (q,)
    L = torch.logsumexp(o, dim=0) - o[y]
    s = lam / 2 * ((W1**2).sum() + (W2**2).sum())
    return SimpleNamespace(x=x, y=y, W1=W1, W2=W2, lam=lam, phi=phi,
                           z=z, h=h, o=o, L=L, s=s, J=L + s)

# %% [markdown]
# Put numbers in: two inputs, two hidden units, two classes,
#
# $$\mathbf{x}=\begin{bmatrix}1\\2\end{bmatrix},\quad \mathbf{W}^{(1)}=\begin{bmatrix}1&-1\\\frac12&\frac12\end{bmatrix},\quad \mathbf{W}^{(2)}=\begin{bmatrix}1&\frac12\\-1&1\end{bmatrix},\quad y=0,\quad \lambda=0.1.$$
#
# Then $\mathbf{z}=[-1,\frac32]^\top$, ReLU leaves $\mathbf{h}=[0,\frac32]^\top$, and the scores are $\mathbf{o}=[\frac34,\frac32]^\top$.
# The wrong class has the higher score.

# %%
x = torch.tensor([1.0, 2.0], dtype=f64)
y = torch.tensor(0)
W1 = torch.tensor([[1.0, -1.0], [0.5, 0.5]], dtype=f64)
W2 = torch.tensor([[1.0, 0.5], [-1.0, 1.0]], dtype=f64)
cache = forward(x, y, W1, W2, lam=0.1, phi="relu")
for name in ("z", "h", "o", "L", "s", "J"):
    print(name, "=", getattr(cache, name).numpy().round(4))

# %% [markdown]
# ## Computational graph of forward propagation
#
# A *computational graph* shows which result was computed from which.
# Its nodes are variables and operators; an arrow leads from each variable into the operators that use it, and from each operator to its result.
# The graph has no cycles, since nothing can be used before it is computed.
#
# ![Computational graph. A chain leads from x at the lower left through a product with W1 to z, through the activation to h, through a product with W2 to o and through the loss to L. From W1 and W2 a second branch leads through squared norms, their sum and a factor lambda / 2 to s. L and s are added to J at the upper right.](img/objective-graph.svg)
#
# **Figure 5.3.1.** The graph of the objective.
# Squares are variables, circles are operators; the input stands at the lower left, the objective at the upper right.
# Both weight matrices have two arrows leaving them: they are used in the prediction and in the penalty.

# %% [markdown]
# ## Backpropagation
#
# *Backpropagation* computes the gradient of the objective with respect to all parameters by visiting the graph in reverse order and applying the chain rule at each operator.
# An operator need not know what the objective is.
# It receives the gradient of $J$ with respect to its result and multiplies it by its own Jacobian: the *vector-Jacobian product* of [Section 2.5](../02-preliminaries/05-automatic-differentiation.ipynb).
#
# ![A circle, the operator, between two squares a and b on the left and a square c on the right. Blue arrows carry values from a and b to the operator and on to c. Orange arrows run the other way: the gradient of J with respect to c arrives at the operator, which sends its product with the derivative of c with respect to a to a, and its product with the derivative of c with respect to b to b.](img/local-rule.svg)
#
# **Figure 5.3.2.** An operator sees only its neighbours.
# Forward, it turns values into a value.
# Backward, it turns the gradient of the objective with respect to its result into gradients with respect to its inputs, using the values it kept.

# %% [markdown]
# For tensors $\mathsf{X}$, $\mathsf{Y}$, $\mathsf{Z}$ of any shape with $\mathsf{Y}=f(\mathsf{X})$ and $\mathsf{Z}=g(\mathsf{Y})$, the chain rule reads
#
# $$\frac{\partial\mathsf{Z}}{\partial\mathsf{X}} = \operatorname{prod}\left(\frac{\partial\mathsf{Z}}{\partial\mathsf{Y}},\ \frac{\partial\mathsf{Y}}{\partial\mathsf{X}}\right). \tag{5.3.7}$$
#
# Here $\operatorname{prod}$ multiplies its two arguments after whatever transpositions and swaps of axes make the shapes fit.
# For vectors it is a matrix product.
# One rule settles questions of layout: *the gradient of a number with respect to a tensor has the shape of that tensor*.
# Of two orders of factors, or of transposed and not transposed, only one then fits, unless some sizes happen to be equal.
#
# We go from the end to the beginning.
# Step 1. The objective is the sum $J=L+s$, so both summands receive
#
# $$\frac{\partial J}{\partial L} = \frac{\partial J}{\partial s} = 1. \tag{5.3.8}$$
#
# Each is a number, since $J$, $L$ and $s$ are.
# Step 2. The scores act on $J$ through $L$ only:
#
# $$\frac{\partial J}{\partial\mathbf{o}} = \operatorname{prod}\left(\frac{\partial J}{\partial L},\frac{\partial L}{\partial\mathbf{o}}\right) = \frac{\partial L}{\partial\mathbf{o}} = \operatorname{softmax}(\mathbf{o})-\mathbf{y}\ \in\mathbb{R}^q. \tag{5.3.9}$$
#
# The last equality holds for the cross-entropy; $\mathbf{y}\in\mathbb{R}^q$ is the label as a one-hot vector, and [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb) derived it: prediction minus label.
# Step 3. The penalty contains each weight squared:
#
# $$\frac{\partial s}{\partial\mathbf{W}^{(i)}} = \lambda\mathbf{W}^{(i)},\qquad i=1,2, \tag{5.3.10}$$
#
# a matrix of the shape of $\mathbf{W}^{(i)}$.
#
# Step 4. The output layer.
# In coordinates, $o_k=\sum_jW^{(2)}_{kj}h_j$, hence $W^{(2)}_{kj}$ changes $o_k$ alone, at the rate $h_j$, and $\frac{\partial L}{\partial W^{(2)}_{kj}}=\frac{\partial L}{\partial o_k}h_j$.
# This is entry $(k,j)$ of a column times a row.
# $\mathbf{W}^{(2)}$ reaches $J$ along two paths, and the contributions of all paths add up:
#
# $$\begin{gathered} \frac{\partial J}{\partial\mathbf{W}^{(2)}} = \operatorname{prod}\left(\frac{\partial J}{\partial\mathbf{o}},\frac{\partial\mathbf{o}}{\partial\mathbf{W}^{(2)}}\right)+\operatorname{prod}\left(\frac{\partial J}{\partial s},\frac{\partial s}{\partial\mathbf{W}^{(2)}}\right) \\[4pt] = \frac{\partial J}{\partial\mathbf{o}}\,\mathbf{h}^\top+\lambda\mathbf{W}^{(2)}\ \in\mathbb{R}^{q\times h}. \end{gathered} \tag{5.3.11}$$
#
# Here $\frac{\partial J}{\partial\mathbf{o}}\in\mathbb{R}^q$ comes from step 2 and $\mathbf{h}\in\mathbb{R}^h$ from the forward pass.
# Step 5. To go on to the layer below we need the gradient of its output.
# $h_j$ acts on every score, on $o_k$ at the rate $W^{(2)}_{kj}$, so it collects $\sum_kW^{(2)}_{kj}\frac{\partial J}{\partial o_k}$, a sum over the *rows* of the matrix:
#
# $$\frac{\partial J}{\partial\mathbf{h}} = {\mathbf{W}^{(2)}}^\top\frac{\partial J}{\partial\mathbf{o}}\ \in\mathbb{R}^h. \tag{5.3.12}$$
#
# Forward, the layer multiplies by $\mathbf{W}^{(2)}$; backward, by its transpose.
# Step 6. The activation works entry by entry, and so does its derivative:
#
# $$\frac{\partial J}{\partial\mathbf{z}} = \frac{\partial J}{\partial\mathbf{h}}\odot\phi'(\mathbf{z})\ \in\mathbb{R}^h, \tag{5.3.13}$$
#
# where $\odot$ is the product of entries and $\phi'$ the derivative of the activation, applied to each entry of the stored $\mathbf{z}$.
# Step 7. The hidden layer is step 4 once more, with $\mathbf{z}$ in the role of $\mathbf{o}$ and $\mathbf{x}$ in that of $\mathbf{h}$:
#
# $$\frac{\partial J}{\partial\mathbf{W}^{(1)}} = \frac{\partial J}{\partial\mathbf{z}}\,\mathbf{x}^\top+\lambda\mathbf{W}^{(1)}\ \in\mathbb{R}^{h\times d}. \tag{5.3.14}$$
#
# $\frac{\partial J}{\partial\mathbf{z}}\in\mathbb{R}^h$ is a column, $\mathbf{x}^\top$ a row with $d$ entries.
# A deeper network repeats steps 4 to 6 for each layer; nothing new is needed.
# It multiplies by one transposed weight matrix after the other; what this does to the size of the gradient is the subject of [Section 5.4](04-numerical-stability-and-initialization.ipynb).
#
# In our example the first hidden unit has $z_1=-1$.
# ReLU has slope 0 there, so step 6 sends nothing through it, and the first row of $\frac{\partial J}{\partial\mathbf{W}^{(1)}}$ is the penalty's share alone.

# %%
def backward(cache):
    """Gradients of J for W1 (h, d) and W2 (q, h), and for z, h, o."""
    c, slope = cache, ACTIVATIONS[cache.phi][1]
    do = torch.softmax(c.o, dim=0) - one_hot(c.y, len(c.o))  # (q,)
    dW2 = torch.outer(do, c.h) + c.lam * c.W2  # (q, h)
    dh = c.W2.mT @ do  # (h,)
    dz = dh * slope(c.z)  # (h,)
    dW1 = torch.outer(dz, c.x) + c.lam * c.W1  # (h, d)
    return SimpleNamespace(o=do, h=dh, z=dz, W1=dW1, W2=dW2)


grads = backward(cache)
for name in ("o", "h", "z", "W2", "W1"):
    rounded = getattr(grads, name).numpy().round(4) + 0.0  # no "-0.0"
    print(name, rounded.tolist())
torch.testing.assert_close(grads.W1[0], 0.1 * W1[0])

# %% [markdown]
# The best witness is one that has never seen our formulas: autograd.
# We compare on random weights of different sizes, where a forgotten transposition cannot fit by accident.

# %%
# check 5.3-C1: by hand equals autograd, for three activations
rng = torch.Generator().manual_seed(1)
shapes = ((5,), (4, 5), (3, 4))  # d = 5, h = 4, q = 3
x5, W45, W34 = (torch.randn(*size, generator=rng, dtype=f64)
                for size in shapes)
label = torch.tensor(1)
for phi in ACTIVATIONS:
    weights = W45.clone().requires_grad_(), W34.clone().requires_grad_()
    forward(x5, label, *weights, 0.1, phi).J.backward()
    hand = backward(forward(x5, label, W45, W34, 0.1, phi))
    for own, weight in zip((hand.W1, hand.W2), weights):
        torch.testing.assert_close(own, weight.grad, rtol=0, atol=1e-12)

# %% [markdown]
# ### A minibatch
#
# With a minibatch the examples are the *rows* of $\mathbf{X}\in\mathbb{R}^{n\times d}$.
# We then transpose the weights, as in Sections 5.1 and 5.2: $\mathbf{W}^{(1)}\in\mathbb{R}^{d\times h}$ and $\mathbf{W}^{(2)}\in\mathbb{R}^{h\times q}$, and $\mathbf{Z}=\mathbf{X}\mathbf{W}^{(1)}$, $\mathbf{H}=\phi(\mathbf{Z})$ and $\mathbf{O}=\mathbf{H}\mathbf{W}^{(2)}$ are row by row what we had.
# The loss is the mean over the examples.
# All formulas transpose:
#
# $$\frac{\partial J}{\partial\mathbf{W}^{(2)}} = \mathbf{H}^\top\boldsymbol\Delta+\lambda\mathbf{W}^{(2)},\qquad \boldsymbol\Delta = \frac{\partial J}{\partial\mathbf{O}} = \frac1n\left(\operatorname{softmax}(\mathbf{O})-\mathbf{Y}\right), \tag{5.3.15}$$
#
# with $\mathbf{H}\in\mathbb{R}^{n\times h}$, $\boldsymbol\Delta\in\mathbb{R}^{n\times q}$, the one-hot labels $\mathbf{Y}\in\mathbb{R}^{n\times q}$, and the softmax taken of each row.
# The product $\mathbf{H}^\top\boldsymbol\Delta\in\mathbb{R}^{h\times q}$ sums the outer products of the $n$ examples.
# One matrix product does the work of a loop over the examples.
# The penalty is not averaged: it belongs to the parameters, not to the data.

# %%
def forward_batch(X, y, W1, W2, lam, phi):
    """X (n, d), labels y (n,), W1 (d, h), W2 (h, q)."""
    Z = X @ W1  # (n, h)
    H = ACTIVATIONS[phi][0](Z)
    O = H @ W2  # (n, q)
    picked = O[torch.arange(len(y)), y]  # (n,)
    L = (torch.logsumexp(O, dim=1) - picked).mean()
    s = lam / 2 * ((W1**2).sum() + (W2**2).sum())
    return SimpleNamespace(X=X, y=y, W1=W1, W2=W2, lam=lam, phi=phi,
                           Z=Z, H=H, O=O, J=L + s)


def backward_batch(cache):
    c, slope = cache, ACTIVATIONS[cache.phi][1]
    Y = one_hot(c.y, c.O.shape[1])  # (n, q)
    dO = (torch.softmax(c.O, dim=1) - Y) / len(c.y)  # (n, q)
    dW2 = c.H.mT @ dO + c.lam * c.W2  # (h, q)
    dZ = dO @ c.W2.mT * slope(c.Z)  # (n, h)
    dW1 = c.X.mT @ dZ + c.lam * c.W1  # (d, h)
    return dW1, dW2

# %%
# check 5.3-C7: batch gradient = mean over the examples + lambda W
X = torch.randn(8, 5, generator=rng, dtype=f64)
labels = torch.randint(3, (8,), generator=rng)
args = X, labels, W45.mT, W34.mT, 0.1, "tanh"
batch = backward_batch(forward_batch(*args))
single = [backward(forward(row, label, W45, W34, 0.0, "tanh"))
          for row, label in zip(X, labels)]
for got, name, W in zip(batch, ("W1", "W2"), (W45, W34)):
    mean = torch.stack([getattr(g, name) for g in single]).mean(dim=0)
    torch.testing.assert_close(got, (mean + 0.1 * W).mT,
                               rtol=0, atol=1e-12)

# %% [markdown]
# ### An engine for any graph
#
# The seven steps followed the graph, one operator after the other, so a program can do them for any graph.
# [Section 2.5](../02-preliminaries/05-automatic-differentiation.ipynb) built an engine of this kind for single numbers; this one works on whole tensors.
# A node holds its value, its *parents*, and one function, `pull`, which is the vector-Jacobian product: it pulls a gradient back from the result to the parents.
# For `@` it is steps 4 and 5 with rows as examples: if $\mathbf{C}=\mathbf{A}\mathbf{B}$ and $\mathbf{G}$ is the gradient with respect to $\mathbf{C}$, the parents receive $\mathbf{G}\mathbf{B}^\top$ and $\mathbf{A}^\top\mathbf{G}$.

# %%
class Var:
    """A tensor that remembers how it was computed.

    `parents` are the variables it was computed from. `pull` maps the
    gradient for this variable to a tuple of gradients for its parents.
    """

    def __init__(self, data, op="", parents=(), pull=None, name=""):
        self.data, self.grad = data, None
        self.op, self.parents, self.pull = op, parents, pull
        self.name = name

    def __matmul__(self, other):
        """(n, m) @ (m, p), or (n, m) @ (m,)."""
        a, b = self.data, other.data

        def pull(g):  # g has the shape of the product
            if b.ndim == 1:
                return torch.outer(g, b), a.mT @ g
            return g @ b.mT, a.mT @ g

        return Var(a @ b, "×", (self, other), pull)

# %% [markdown]
# Sums and products work entry by entry and *broadcast*: a bias of shape `(q,)` is added to every row of `(n, q)`.
# An entry that was used $n$ times in the forward pass collects $n$ contributions in the backward pass.
# Its gradient is therefore summed over the axes that were broadcast, which gives it the shape of the variable again; `sum_to_size` does that.
# A plain number as a factor becomes part of the operator and gets no gradient.

# %%
@add_to_class(Var)
def __add__(self, other):
    a, b = self.data, other.data
    return Var(a + b, "+", (self, other), lambda g: (
        g.sum_to_size(a.shape), g.sum_to_size(b.shape)))


@add_to_class(Var)
def __mul__(self, other):
    if not isinstance(other, Var):
        return Var(other * self.data, f"·{other:g}", (self,),
                   lambda g: (g * other,))
    a, b = self.data, other.data
    return Var(a * b, "·", (self, other), lambda g: (
        (g * b).sum_to_size(a.shape), (g * a).sum_to_size(b.shape)))


Var.sum = lambda self: Var(self.data.sum(), "sum", (self,),
                           lambda g: (g.expand(self.data.shape),))

# %% [markdown]
# The activations, the squared Frobenius norm, and the loss have one parent each.
# The loss takes the scores of one example, `(q,)`, or of a minibatch, `(n, q)`, and averages over the examples.

# %%
@add_to_class(Var)
def relu(self):
    return Var(self.data.relu(), "ReLU", (self,),
               lambda g: (g * (self.data > 0),))


@add_to_class(Var)
def tanh(self):
    value = self.data.tanh()
    return Var(value, "tanh", (self,), lambda g: (g * (1 - value**2),))


@add_to_class(Var)
def square_norm(self):
    return Var((self.data**2).sum(), "‖·‖²", (self,),
               lambda g: (2 * g * self.data,))


@add_to_class(Var)
def log_softmax_nll(self, y):
    o, target = self.data, one_hot(y, self.data.shape[-1])
    loss = torch.logsumexp(o, dim=-1) - (target * o).sum(dim=-1)
    slope = (torch.softmax(o, dim=-1) - target) / y.numel()
    return Var(loss.mean(), "loss", (self,), lambda g: (g * slope,))

# %% [markdown]
# To visit a graph we need its nodes in an order in which every variable comes after its parents, a *topological order*.
# A depth-first search gives one: a variable joins the list after everything that it depends on.
# The list is also called the *tape*, since played forward it is the computation.
# (The recursion is short to read, but a chain of about a thousand operators exceeds Python's limit; a real engine keeps a stack of its own.)

# %%
def tape(root):
    """All variables that `root` depends on, each after its parents."""
    order, seen = [], set()

    def visit(v):
        if v not in seen:
            seen.add(v)
            for parent in v.parents:
                visit(parent)
            order.append(v)

    visit(root)
    return order

# %% [markdown]
# Here is the network in the engine.
# Results that matter get a name; one that begins with an underscore is drawn by its operator alone.

# %%
def named(name, var):
    var.name = name
    return var


def network():
    """The objective (5.3.6) of the example, with its whole graph."""
    vx, vW1, vW2 = Var(x, name="x"), Var(W1, name="W1"), Var(W2, name="W2")
    z = named("z", vW1 @ vx)
    h = named("h", z.relu())
    o = named("o", vW2 @ h)
    L = named("L", o.log_softmax_nll(y))
    norms = named("_sum", named("_norm1", vW1.square_norm())
                  + named("_norm2", vW2.square_norm()))
    s = named("s", norms * 0.05)  # lambda / 2
    return named("J", L + s)


torch.testing.assert_close(network().data, cache.J)
print([v.name for v in tape(network())])

# %% [markdown]
# The backward pass gives the objective the gradient 1, walks over the tape backwards, and lets each operator pull the gradient of its result back to its parents.
# A variable that was used more than once receives several gradients; the `+` adds them up.
# Reverse order guarantees that a gradient is complete before it is passed on: all users of a variable stand after it on the tape.

# %%
@add_to_class(Var)
def backward_steps(self):
    """Backpropagation; yields each variable after its `pull`."""
    order = tape(self)
    for v in order:
        v.grad = None
    self.grad = torch.ones_like(self.data)
    for v in reversed(order):
        if v.pull is None:
            continue  # a leaf: an input or a parameter
        for parent, g in zip(v.parents, v.pull(v.grad)):
            parent.grad = g if parent.grad is None else parent.grad + g
        yield v


def all_steps(self):
    """Fill in `grad` of every variable that this one depends on."""
    for _ in self.backward_steps():
        pass


Var.backward = all_steps

# %% [markdown]
# The function yields after each operator, and so we can watch (the drawing code is folded).
# Move the slider.

# %% tags=["hide-input"]
PLACES = {"x": (0, 0), "W1": (0, 1), "z": (2, 1), "h": (4, 1),
          "W2": (4, 2), "o": (6, 2), "L": (8, 2), "_norm1": (1, 4),
          "_norm2": (5, 3), "_sum": (6, 4), "s": (8, 4), "J": (10, 4)}
SYMBOLS = {"x": r"$\mathbf{x}$", "W1": r"$\mathbf{W}^{(1)}$",
           "z": r"$\mathbf{z}$", "h": r"$\mathbf{h}$",
           "W2": r"$\mathbf{W}^{(2)}$", "o": r"$\mathbf{o}$",
           "L": "$L$", "s": "$s$", "J": "$J$"}


def draw_node(ax, spot, text, marker, fill, edge, ink="#222222"):
    ax.scatter(*spot, s=700, marker=marker, c=fill, edgecolors=edge,
               zorder=3)
    ax.text(*spot, text, ha="center", va="center", color=ink, zorder=4,
            fontsize=10 if marker == "s" else 8)


def draw_arrow(ax, start, end, color="#888888", width=1.2):
    ax.annotate("", end, start, arrowprops={
        "arrowstyle": "-|>", "color": color, "lw": width,
        "shrinkA": 14, "shrinkB": 14})


# %% tags=["hide-input"]
def draw_graph(ax, root, current=None):
    """Squares and circles of the graph of `root`, from its tape."""
    for v in tape(root):
        col, row = PLACES[v.name]
        square = not v.name.startswith("_")
        if v.op:
            spot = (col - 1, row) if square else (col, row)
            busy = v is current
            for parent in v.parents:
                ends = PLACES[parent.name], spot
                if busy:
                    draw_arrow(ax, *ends[::-1], "#D55E00", 2.4)
                else:
                    draw_arrow(ax, *ends)
            if square:
                draw_arrow(ax, spot, (col, row))
            draw_node(ax, spot, v.op, "o", "#D55E00" if busy else "white",
                      "#222222", "white" if busy else "#222222")
        if square:
            fill = "white" if v.grad is None else "#FBD9BF"
            draw_node(ax, (col, row), SYMBOLS[v.name], "s", fill, "#0072B2")
    ax.set(xlim=(-0.5, 10.5), ylim=(-0.6, 4.6))
    ax.axis("off")


# %% tags=["hide-input"]
def numbers(tensor):
    """A tensor as a small block of text; nothing for None."""
    if tensor is None:
        return ""
    rows = tensor if tensor.ndim == 2 else tensor.reshape(-1, 1)
    cells = [[f"{v + 0:.2f}" for v in row] for row in rows.tolist()]
    width = max(len(cell) for row in cells for cell in row)
    return "\n".join(" ".join(cell.rjust(width) for cell in row)
                     for row in cells).replace("-", "−")


def draw_table(ax, root):
    named = {v.name: v for v in tape(root)}
    columns = [0.0, 1.1, 2.2, 3.0, 4.1, 5.2, 6.0, 6.8, 7.6]
    for at, (name, symbol) in zip(columns, SYMBOLS.items()):
        v = named[name]
        ax.text(at, 2.8, symbol, ha="center", va="center")
        for height, tensor, ink in ((1.9, v.data, "#005A8E"),
                                    (0.6, v.grad, "#A84300")):
            ax.text(at, height, numbers(tensor), ha="center", va="center",
                    fontsize=8, family="monospace", color=ink)
    ax.text(-1.3, 1.9, "value", va="center", fontsize=9, color="#005A8E")
    if root.grad is not None:
        ax.text(-1.3, 0.6, "gradient", va="center", fontsize=9,
                color="#A84300")
    ax.set(xlim=(-1.3, 7.9), ylim=(0, 3))
    ax.axis("off")


def draw_state(fig, root, current=None):
    top, bottom = fig.subplots(2, 1, height_ratios=(3.4, 1.4))
    draw_graph(top, root, current)
    draw_table(bottom, root)
    return top

# %% tags=["hide-input"]
def draw(fig, step):
    root, current = network(), None
    steps = root.backward_steps()
    for _ in range(int(step)):
        current = next(steps)
    draw_state(fig, root, current)


d2l.sliders(draw, """The graph of Figure 5.3.1 in the middle of the
    backward pass. The operator at work is filled and sends thick arrows
    back to its parents; variables that have received a gradient are
    shaded, and the table below lists their gradients.""",
    figsize=(7.2, 4.1), step=range(10))

# %% [markdown]
# **Figure 5.3.3.** The backward pass, one operator per step (step 0: before it), drawn from the recorded tape, with values and gradients.
# $\mathbf{W}^{(2)}$ and $\mathbf{W}^{(1)}$ first receive the share of the penalty; when the pass reaches the product that uses them, the share of the loss is added.
# Every gradient has the shape of its value.

# %%
root = network()
root.backward()
engine = {v.name: v.grad for v in tape(root)}
for name in ("o", "h", "z", "W1", "W2"):
    torch.testing.assert_close(engine[name], getattr(grads, name))

# %% [markdown]
# The engine and the seven formulas agree on the example.
# The harder test is a network for which we derived nothing: three layers, with biases, on a minibatch.

# %%
def deep(net, X, y, lib):
    """Objective of a 3-layer network; runs on Var and on tensors."""
    W1, b1, W2, b2, W3, b3 = net
    H1 = lib.relu(X @ W1 + b1)
    H2 = lib.tanh(H1 @ W2 + b2)
    norm = lib.square_norm(W1) + lib.square_norm(W3)
    return lib.nll(H2 @ W3 + b3, y) + norm * 0.05


ours = SimpleNamespace(relu=Var.relu, tanh=Var.tanh,
                       square_norm=Var.square_norm,
                       nll=Var.log_softmax_nll)
theirs = SimpleNamespace(relu=torch.relu, tanh=torch.tanh,
                         square_norm=lambda W: (W**2).sum(),
                         nll=F.cross_entropy)

# %%
# check 5.3-C2: own engine = autograd; reuse accumulates
rng = torch.Generator().manual_seed(2)
sizes = (5, 7), (7,), (7, 6), (6,), (6, 3), (3,)
start = [torch.randn(*size, generator=rng, dtype=f64) for size in sizes]
net = [Var(t) for t in start]
leaves = [t.clone().requires_grad_() for t in start]
deep(net, Var(X), labels, ours).backward()
deep(leaves, X, labels, theirs).backward()
for own, leaf in zip(net, leaves):
    assert own.grad.shape == own.data.shape
    torch.testing.assert_close(own.grad, leaf.grad, rtol=0, atol=1e-10)
v = Var(start[1])
(v * v + v).sum().backward()  # v enters three times
torch.testing.assert_close(v.grad, 2 * v.data + 1)
left, right = Var(start[0]), Var(start[0][:1] + 1)  # (5, 7), (1, 7)
for _ in range(2):  # the second call starts from nothing
    ((left * right).sum() * 3).backward()
torch.testing.assert_close(left.grad, 3 * right.data.expand(5, 7))
torch.testing.assert_close(right.grad,
                           3 * left.data.sum(dim=0, keepdim=True))
v = Var(start[5])  # (3,): the scores of one example
(v.log_softmax_nll(labels[0]) * 3).backward()
torch.testing.assert_close(v.grad, 3 * (torch.softmax(v.data, dim=0)
                                        - one_hot(labels[0], 3)))

# %% [markdown]
# `torch.autograd` has many more operators, runs them on any device, and frees what is no longer needed.
# The idea is this one.
# In particular each operator stores what its own `pull` needs: `tanh` keeps its result, since the slope is $1-\tanh^2$, and the product keeps its factors.

# %% [markdown]
# ### A check that needs no second engine
#
# When you write your own backward pass, there may be nothing to compare with but the definition of the derivative.
# The central difference of [Section 2.4](../02-preliminaries/04-calculus.ipynb) for one weight $W_{ij}$ is
#
# $$\frac{\partial J}{\partial W_{ij}} = \frac{J(\mathbf{W}+\epsilon\mathbf{E}_{ij})-J(\mathbf{W}-\epsilon\mathbf{E}_{ij})}{2\epsilon}+O(\epsilon^2), \tag{5.3.16}$$
#
# with the step $\epsilon>0$ and the matrix $\mathbf{E}_{ij}$ of the shape of $\mathbf{W}$, which is 1 at $(i,j)$ and 0 elsewhere.
#
# How small should $\epsilon$ be?
# The formula's own error falls like $\epsilon^2$.
# But $J$ is computed with a relative rounding error of about $u$, the *unit roundoff* ($1.1\cdot10^{-16}$ in `float64`, $6\cdot10^{-8}$ in `float32`), and the division turns it into an error of about $u/\epsilon$.
# The sum $\epsilon^2+u/\epsilon$ is smallest where both are about equal, at $\epsilon\approx u^{1/3}$: near $10^{-5}$ in double and near $10^{-2}$ in single precision, if $J$ and its derivatives are near 1.
# (Below, $J$ is 2.8 and the error of the formula only about $0.02\,\epsilon^2$, so the best step is a few times larger.)

# %%
def worst_error(eps, dtype):
    """Largest error of (5.3.16) over W1, for the network of C1."""
    a, c, v = (t.to(dtype) for t in (W45, W34, x5))
    estimate = numerical_gradient(
        lambda W: forward(v, label, W, c, 0.1, "tanh").J, a, h=eps)
    return (estimate.double() - true).abs().max().item()


label = torch.tensor(1)
true = backward(forward(x5, label, W45, W34, 0.1, "tanh")).W1
steps = [10 ** (-k / 2) for k in range(2, 21)]  # 0.1 to 1e-10
double = [worst_error(eps, f64) for eps in steps]
single = [worst_error(eps, torch.float32) for eps in steps]

# %% tags=["timing"]
slope = [double[0] * (eps / steps[0]) ** 2 for eps in steps[:11]]
ax = d2l.plot([steps, steps, steps[:11]], [double, single, slope],
              ["float64", "float32", "slope 2"],
              xlabel="step ε", ylabel="largest error of the gradient",
              xscale="log", yscale="log", fmts=["o-", "s--", ":"])
d2l.describe(ax, """Error of central differences against the step, both
    axes logarithmic. Each precision draws a V: from the right the error
    falls with slope two, then it rises again through rounding. The
    lowest point is near 1e-5 in double precision and near 1e-2 in
    single precision.""")

# %% [markdown]
# **Figure 5.3.4.** Central differences against the exact gradient.
# On the right the formula errs, with slope 2; on the left rounding does, with slope $-1$.
# In single precision a gradient check is worth few digits.
# Below about $10^{-8}$ most single-precision weights do not move at all when the step is added.

# %%
# check 5.3-C3: slope 2, best step near u^(1/3), in both precisions
at = dict(zip(range(2, 21), double))  # at[k]: step 10^(-k/2)
for k in (2, 4):
    assert 90 < at[k] / at[k + 2] < 110
for line, error in zip(slope[:6], double):  # the dotted line
    assert 0.8 < line / error < 1.25
best = steps[double.index(min(double))]
assert 1e-6 < best < 1e-4 and min(double) < 1e-9
assert at[16] > 30 * min(double)  # step 1e-8
assert 300 < at[20] / at[14] < 3000  # three powers of ten, slope -1
best = steps[single.index(min(single))]
assert 9e-4 < best < 5e-2 and 1e-7 < min(single) < 1e-4
assert single[0] > 5 * min(single)  # at the step 0.1 the formula errs
assert single[8] > 30 * min(single)  # at the step 1e-5 rounding does
assert min(single) > 1000 * min(double)
weights = W45.clone().requires_grad_(), W34.clone().requires_grad_()
assert torch.autograd.gradcheck(
    lambda a, b: forward(x5, label, a, b, 0.1, "tanh").J, weights)

# %% [markdown]
# `torch.autograd.gradcheck` compares a backward pass with central differences of step $10^{-6}$ and is meant for double precision.
#
# A difference quotient knows nothing of kinks.
# Where the step reaches across the kink of a ReLU, it averages two slopes, and the check fails although the gradient is right:

# %%
inside = torch.tensor(1e-6, dtype=f64)  # slope 1, kink within reach
print(f"{numerical_gradient(torch.relu, inside, h=1e-5).item():.2f}")
assert abs(numerical_gradient(torch.relu, inside, h=1e-5) - 0.55) < 1e-9
assert abs(numerical_gradient(torch.relu, inside, h=1e-7) - 1) < 1e-6

# %% [markdown]
# ### Why backwards
#
# The check needs two forward passes for *each* parameter: 407 060 for the network of [Section 5.2](02-mlp-implementation.ipynb) with its 203 530 parameters.
# The backward pass gets all derivatives at once.
# At what price?
#
# Count multiplications and additions.
# The product of an $n\times d$ matrix and a $d\times h$ matrix takes $ndh$ of each, together $2ndh$ operations.
# Backward, the layer needs two products of the same size: $\mathbf{X}^\top\boldsymbol\Delta$ for its weights, and $\boldsymbol\Delta{\mathbf{W}}^\top$ for its input.
# So the backward pass costs twice the forward pass, whatever the number of parameters.
# The first layer saves the second product, because nobody asks for the gradient of the data.

# %%
def flops(compute):
    """Operations in matrix products during `compute()`."""
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()


torch.manual_seed(0)
mlp = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
images, targets = torch.randn(64, 784), torch.randint(10, (64,))
data_grad = images.clone().requires_grad_()
ahead = flops(lambda: F.cross_entropy(mlp(images), targets))
both = flops(lambda: F.cross_entropy(mlp(images), targets).backward())
full = flops(lambda: F.cross_entropy(mlp(data_grad), targets).backward())
print(f"forward {ahead:,}; with backward {both:,} = {both / ahead:.2f} times;"
      f"\nwith the gradient of the input {full / ahead:.2f} times")

# %%
# check 5.3-C5: operations of the forward and the backward pass
assert ahead == 2 * 64 * (784 * 256 + 256 * 10) == 26_017_792
assert full == 3 * ahead
assert both == 52_363_264 == full - 2 * 64 * 784 * 256

# %% [markdown]
# Here the first layer has nearly all the weights, so the saving makes the factor 2 instead of 3.
# With depth it fades: for $k$ layers of equal width, training costs $3-\frac1k$ forward passes.

# %%
for k in (1, 2, 4, 8, 16):
    layers = nn.Sequential(*[nn.Linear(64, 64) for _ in range(k)])
    rows = torch.randn(32, 64)
    ratio = (flops(lambda: layers(rows).sum().backward())
             / flops(lambda: layers(rows)))
    assert ratio == 3 - 1 / k
    print(f"{k:2} layers: {ratio:.3f} forward passes")

# %% [markdown]
# ## Training neural networks
#
# Training initializes the parameters and then alternates: a forward pass, a backward pass, a step against the gradient.
# The backward pass uses what the forward pass has stored: step 4 needs $\mathbf{h}$, step 6 $\mathbf{z}$, step 7 $\mathbf{x}$.
# The forward pass uses the *current* parameters, which the last backward pass has moved, in the penalty as well as in the layers.
# An intermediate result is therefore good for one step only.
#
# Our engine can train, for example on XOR from [Section 5.1](01-multilayer-perceptrons.ipynb).

# %%
corners = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=f64)
xor = torch.tensor([0, 1, 1, 0])
rng = torch.Generator().manual_seed(3)
start = [torch.randn(*size, generator=rng, dtype=f64)
         for size in ((2, 8), (8,), (8, 2), (2,))]
params = [Var(t) for t in start]
for step in range(300):
    A, a, B, b = params  # the graph is built anew in each step
    loss = ((Var(corners) @ A + a).tanh() @ B + b).log_softmax_nll(xor)
    loss.backward()
    params = [Var(p.data - 0.5 * p.grad) for p in params]
    if step in (0, 30, 299):
        print(f"step {step:3}: loss {loss.data.item():.3f}")

# %%
clones = [t.clone().requires_grad_() for t in start]
optimizer = torch.optim.SGD(clones, lr=0.5)
for step in range(300):
    A, a, B, b = clones
    scores = torch.tanh(corners @ A + a) @ B + b  # (4, 2)
    optimizer.zero_grad()
    F.cross_entropy(scores, xor).backward()
    optimizer.step()
assert loss.data < 0.05 and (scores.argmax(dim=1) == xor).all()
for own, clone in zip(params, clones):
    torch.testing.assert_close(own.data, clone, rtol=0, atol=1e-10)

# %% [markdown]
# After 300 steps both have the same parameters, to ten decimals.
#
# ### What the forward pass keeps
#
# With many layers or a large batch the stored intermediate results are the main reason why training needs so much more memory than prediction; with a small batch the gradients and the numbers of the optimizer can weigh more.
# A prediction may forget $\mathbf{z}$ as soon as $\mathbf{h}$ is known; training must keep the results of all layers until the backward pass has used them.
# PyTorch lets us look: it calls a *hook* for each tensor that an operator saves for its backward pass.

# %% tags=["export"]
def saved_tensors(compute):
    """Tensors that autograd keeps when `compute()` runs forward.

    A list, in the order of saving. A tensor that two operators keep is
    listed twice, though it lies in memory once.
    """
    kept = []

    def pack(tensor):
        kept.append(tensor.detach())  # shares the memory
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        compute()
    return kept


def distinct_elements(tensors, ignore=()):
    """Elements of `tensors` in memory, each storage counted once.

    Storages of the tensors in `ignore`, such as parameters, which exist
    anyway, do not count.
    """
    skip = {t.untyped_storage().data_ptr() for t in ignore}
    sizes = {}
    for t in tensors:  # a view keeps its whole storage alive
        storage = t.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes() // t.element_size()
    return sum(n for address, n in sizes.items() if address not in skip)

# %%
def mlp_loss(n):
    """A function without arguments: the loss of n random images."""
    rows, classes = torch.randn(n, 784), torch.randint(10, (n,))
    return lambda: F.cross_entropy(mlp(rows), classes)


torch.manual_seed(0)
for t in saved_tensors(mlp_loss(64)):
    print(tuple(t.shape))

# %% [markdown]
# In this order they are: the input (for $\frac{\partial J}{\partial\mathbf{W}^{(1)}}$), the result of ReLU, that result once more as the input of the second layer, the second weight matrix (for $\frac{\partial J}{\partial\mathbf{H}}$), the logarithms of the softmax twice, the labels, and one number for the average.
# Step 6 asks for $\mathbf{Z}$, but ReLU keeps its result instead: that is positive exactly where $\mathbf{Z}$ is, so $\mathbf{Z}$ itself can go.
# The first weight matrix is missing because no gradient of the data is wanted.
#
# Entries listed: $784+256+256+10+10+1=1317$ for each example, and $2560+1$ that do not depend on the batch.

# %%
# check 5.3-C4: what is saved grows exactly linearly in the batch
torch.manual_seed(0)
count = {n: sum(t.numel() for t in saved_tensors(mlp_loss(n)))
         for n in (1, 64, 256)}
assert count == {n: 1317 * n + 2561 for n in count}
assert count == {1: 3_878, 64: 86_849, 256: 339_713}
with torch.no_grad():
    assert saved_tensors(mlp_loss(256)) == []
print(count)

# %% [markdown]
# Under `no_grad` nothing is kept.
# The list counts $\mathbf{H}$ and the log-softmax twice, though each exists once.
# Counted by storage, and without the weights, which exist anyway, what an example really occupies is $784+256+10+1$ numbers:

# %%
torch.manual_seed(0)
kept = saved_tensors(mlp_loss(64))
real = distinct_elements(kept, ignore=mlp.parameters())
assert real == 64 * (784 + 256 + 10 + 1) + 1
print(f"{real:,} numbers for 64 examples")
table = torch.zeros(10, 4)  # views keep all of it, once
assert distinct_elements([table[:2], table[5:]]) == 40

# %% [markdown]
# This gives a *memory model*.
# For a network with $p$ parameters that keeps $a$ numbers per example, training with a batch of $n$ occupies about
#
# $$M = (2+m)\,p+n\,a \tag{5.3.17}$$
#
# numbers: parameters and gradients ($2p$), $m$ numbers per parameter in the optimizer ($m=0$ for SGD, 1 with momentum, 2 for Adam), and the kept results.
# Not counted are the gradients of the intermediate results, of which a layer or two exist at a time.
# Prediction occupies $p$ and at any time the input and output of a single layer.
# For our network and $n=256$, that is $407\,060+269\,056$ numbers with SGD against $203\,530$ and at most $256\cdot1040$ for prediction: not dramatic with one hidden layer.
# But $a$ grows with every layer, and in a deep convolutional network $na$ exceeds $p$ by far.
# When memory runs out, the first thing to lower is the batch size.

# %% [markdown]
# The kept results are released as soon as the backward pass has used them.
# A second `backward()` therefore fails as soon as it needs one of them; `retain_graph=True` keeps them.
# The second gradient is then added to the first:

# %%
# check 5.3-C8: the graph is gone after backward, unless retained
weight = W45.clone().requires_grad_()
J = forward(x5, label, weight, W34, 0.1, "tanh").J
J.backward(retain_graph=True)
once = weight.grad.clone()
J.backward()
torch.testing.assert_close(weight.grad, 2 * once)
try:
    J.backward()
    raise AssertionError("a third call should have failed")
except RuntimeError as error:
    print(str(error).split(".")[0])

# %% [markdown]
# ### Checkpointing: memory for time
#
# A result that is not kept can be computed again.
# *Checkpointing* divides the network into segments, keeps only the input of each segment, and when the backward pass reaches a segment, runs its forward pass once more, this time keeping everything.
# The price is a second forward pass: 4 instead of 3 units of work.
#
# Let us take 16 blocks, each a linear layer of width 64 and a ReLU, with 32 examples.

# %%
def make_blocks(depth, width=64):
    return [nn.Sequential(nn.Linear(width, width), nn.ReLU())
            for _ in range(depth)]


def run(blocks, X, size=None):
    """Apply all blocks; with `size`, in checkpointed segments."""
    if size is None:
        return nn.Sequential(*blocks)(X)
    for i in range(0, len(blocks), size):
        segment = nn.Sequential(*blocks[i:i + size])
        X = checkpoint(segment, X, use_reentrant=False)
    return X


def weights_of(blocks):
    return [p for block in blocks for p in block.parameters()]

# %%
# check 5.3-C6: fewer saved elements, equal gradients, 4/3 of the work
torch.manual_seed(0)
blocks = make_blocks(16)
X32 = torch.randn(32, 64, requires_grad=True)
lists, gradients, work = {}, {}, {}
for size in (None, 1, 4):
    lists[size] = saved_tensors(lambda: run(blocks, X32, size))
    loss = run(blocks, X32, size).square().sum()
    gradients[size] = torch.autograd.grad(loss, weights_of(blocks))
    work[size] = flops(lambda: run(blocks, X32, size).sum().backward())
total = {size: sum(t.numel() for t in kept) for size, kept in lists.items()}
assert total == {None: 131_072, 1: 32_768, 4: 8_192}
for size in (1, 4):
    torch.testing.assert_close(gradients[size], gradients[None])
    assert 3 * work[size] == 4 * work[None]

# %% [markdown]
# Segments of one block list a quarter of the entries, segments of four a sixteenth, with equal gradients; but count again by storage.

# %%
for size, kept in lists.items():
    real = distinct_elements(kept, ignore=weights_of(blocks))
    print(f"segments of {size or 'no'} blocks: {total[size]:7,} listed, "
          f"{real:6,} in memory")
    if size != 4:  # the plain network keeps one result more, its output
        assert real == (17 if size is None else 16) * 32 * 64

# %% [markdown]
# With segments of one block next to nothing is saved, for a third more work.
# Such a block keeps a single tensor of its own, its output, which is the input of the next block and must be kept in either case; the rest of the long list are weights and duplicates.
# Checkpointing pays when there is much *inside* a segment: several blocks, or one large block such as a Transformer's.
#
# For $k$ equal blocks in segments of $c$, $\frac kc$ inputs are kept all the time and $c$ results while a segment is run again.
# The sum $\frac kc+c$ is smallest at $c=\sqrt k$ with $2\sqrt k$: the memory for kept results then grows like the root of the depth; parameters and gradients go on growing with the depth itself.

# %%
def peak(depth, n, size=None):
    """Results in memory at the worst moment of the backward pass."""
    blocks, X = make_blocks(depth), torch.randn(n, 64, requires_grad=True)
    kept = distinct_elements(saved_tensors(lambda: run(blocks, X, size)),
                             ignore=weights_of(blocks))
    if size is None:
        return kept
    again = saved_tensors(lambda: run(blocks[:size], X))  # one segment
    inside = distinct_elements(again, [X, *weights_of(blocks)])
    return kept + inside


depths, batches = [4, 16, 36, 64], [8, 32, 64, 96, 128]
by_depth = [[peak(k, 32, size(k)) / 1000 for k in depths] for size in
            (lambda k: None, lambda k: 1, lambda k: round(k**0.5))]
by_batch = [[peak(16, n, size) / 1000 for n in batches]
            for size in (None, 1, 4)]

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 3), sharey=False)
names = ["plain", "segments of 1", "segments of √depth"]
d2l.plot(batches, by_batch, names, xlabel="batch size", ax=axes[0],
         ylabel="numbers kept (thousands)", title="16 blocks",
         fmts=["-", "--", "o-"])
d2l.plot(depths, by_depth, names, xlabel="depth (blocks)", ax=axes[1],
         title="batch of 32", fmts=["-", "--", "o-"])
for ax in axes:
    ax.set_ylim(bottom=0)
d2l.describe(axes, """Two panels of kept numbers, against batch size on
    the left and against depth on the right. Both are straight lines for
    the plain network, and the line for segments of one block lies on it.
    With segments of the square root of the depth the slope on the left is
    less than half, and on the right the curve flattens.""")

# %%
for depth, plain, each, root in zip(depths, *by_depth):
    unit = 32 * 64  # one result of one block
    counts = [round(1000 * v) for v in (plain, each, root)]
    assert counts[:2] == [(depth + 1) * unit] * 2
    assert counts[2] == 2 * round(depth**0.5) * unit
for n, plain, each, root in zip(batches, *by_batch):
    assert plain == each == 17 * n * 64 / 1000 and root < plain / 2

# %% [markdown]
# **Figure 5.3.5.** Memory for kept results, weights not counted.
# It is proportional to batch size and, without checkpointing, grows linearly with depth.
# Segments of $\sqrt{\text{depth}}$ blocks need $2\sqrt{\text{depth}}$ results instead of one for each block; segments of a single block, the dashed line on top of the solid one, need as much as no checkpointing at all.

# %% [markdown]
# ## Summary
#
# - Forward propagation computes the intermediate results in the order of the graph and stores them; backward propagation computes the gradients in reverse order, those of parameters and of all results in between.
# - An operator sees only its neighbours: the gradient of its result goes in, gradients of its inputs come out, contributions of several users add up, and every gradient has the shape of its variable.
# - A linear layer needs two products backward, gradient times stored input for its weights and transposed weights times gradient for its input; so training costs up to three forward passes, for any number of parameters.
# - Check a new backward pass by central differences, in double precision, with a step near $u^{1/3}$, away from kinks.
# - In training the passes depend on each other: kept results make memory grow with batch size and depth, and prediction keeps none.
# - Checkpointing saves memory for a third more work, but only if a segment holds more than the tensor at its border.

# %% [markdown]
# ## Exercises
#
# ### Exercise 5.3-1
#
# Let $f:\mathbb{R}^{n\times m}\to\mathbb{R}$ map a matrix to a number.
# What shape does its gradient have, and why?
# What shape does the derivative of $\mathbf{X}\mapsto\mathbf{X}\mathbf{v}$ with $\mathbf{v}\in\mathbb{R}^m$ have, and why does backpropagation never build it?

# %% [markdown]
# #### Solution 5.3-1

# %% [markdown]
# There is one partial derivative for each entry $X_{ij}$, so the gradient is an $n\times m$ matrix, like $\mathbf{X}$.
# Only then can a step $\mathbf{X}-\eta\nabla f$ be taken.
#
# The map to $\mathbb{R}^n$ has $n$ outputs and $nm$ inputs: a tensor of shape $(n,n,m)$, of which most entries are 0, since row $i$ of $\mathbf{X}$ acts on output $i$ alone.
# Backpropagation needs only its product with the gradient $\mathbf{g}\in\mathbb{R}^n$ of the objective, and that is $\mathbf{g}\mathbf{v}^\top\in\mathbb{R}^{n\times m}$.

# %%
rng = torch.Generator().manual_seed(4)
M = torch.randn(3, 4, generator=rng, dtype=f64)
vec = torch.randn(4, dtype=f64, generator=rng)
g = torch.tensor([1.0, -2.0, 3.0], dtype=f64)
for f in (torch.sum, lambda X: (X @ vec).sin().prod(), torch.linalg.norm):
    by_autograd = torch.func.grad(f)(M)
    assert by_autograd.shape == M.shape
    torch.testing.assert_close(numerical_gradient(f, M), by_autograd,
                               rtol=1e-6, atol=1e-8)
jacobian = torch.func.jacrev(lambda X: X @ vec)(M)
assert jacobian.shape == (3, 3, 4)
torch.testing.assert_close(torch.tensordot(g, jacobian, dims=1),
                           torch.outer(g, vec))

# %% [markdown]
# ### Exercise 5.3-2
#
# Give both layers a bias: $\mathbf{z}=\mathbf{W}^{(1)}\mathbf{x}+\mathbf{b}^{(1)}$ and $\mathbf{o}=\mathbf{W}^{(2)}\mathbf{h}+\mathbf{b}^{(2)}$.
# The biases are not penalized.
# How does the graph change, and which equations does the backward pass gain?

# %% [markdown]
# #### Solution 5.3-2

# %% [markdown]
# After each of the two products comes an operator $+$ with the bias, a square without parents, as its second input.
# A sum hands its gradient unchanged to both summands:
# $\frac{\partial J}{\partial\mathbf{b}^{(2)}}=\frac{\partial J}{\partial\mathbf{o}}$ and $\frac{\partial J}{\partial\mathbf{b}^{(1)}}=\frac{\partial J}{\partial\mathbf{z}}$.
# All other equations stay; $\mathbf{z}$ and $\mathbf{o}$ have other values.
# With a minibatch the gradient of a bias is the sum of the rows, $\mathbf{1}^\top\boldsymbol\Delta$.

# %%
b1 = torch.randn(4, generator=rng, dtype=f64)
b2 = torch.randn(3, generator=rng, dtype=f64)
z = W45 @ x5 + b1  # (4,)
o = W34 @ torch.tanh(z) + b2  # (3,)
do = torch.softmax(o, dim=0) - one_hot(label, 3)
dz = (W34.mT @ do) * (1 - torch.tanh(z) ** 2)
leaves = [t.clone().requires_grad_() for t in (W45, b1, W34, b2)]
A, a, B, b = leaves
(F.cross_entropy(B @ torch.tanh(A @ x5 + a) + b, label)
 + 0.05 * ((A**2).sum() + (B**2).sum())).backward()
hand = (torch.outer(dz, x5) + 0.1 * W45, dz,
        torch.outer(do, torch.tanh(z)) + 0.1 * W34, do)
for own, leaf in zip(hand, leaves):
    torch.testing.assert_close(own, leaf.grad, rtol=0, atol=1e-12)

# %% [markdown]
# ### Exercise 5.3-3
#
# A network for classification has inputs of size $d$, hidden layers of sizes $h_1,\dots,h_k$ with ReLU, $q$ classes, and biases.
# How many numbers do training (with SGD, batch size $n$) and prediction occupy?
# Compare your count of kept results with `saved_tensors` for $d=20$, $h=(50,30)$, $q=5$, $n=16$.

# %% [markdown]
# #### Solution 5.3-3

# %% [markdown]
# With $h_0=d$ and $h_{k+1}=q$ there are $p=\sum_{l=0}^k(h_l+1)h_{l+1}$ parameters.
# Kept for each example are the input, one result for each hidden layer, the $q$ logarithms of the softmax and the label: $a=d+\sum_lh_l+q+1$; one more number, the divisor of the mean, does not depend on $n$.
# Training occupies $2p+na+1$, prediction $p+n\max_l(h_l+h_{l+1})$.

# %%
sizes, n = (20, 50, 30, 5), 16
net = nn.Sequential()
for d_in, d_out in zip(sizes, sizes[1:]):
    net.extend([nn.Linear(d_in, d_out), nn.ReLU()])
net = net[:-1]  # no activation after the scores
pairs = list(zip(sizes, sizes[1:]))
p = sum((d_in + 1) * d_out for d_in, d_out in pairs)
assert p == sum(t.numel() for t in net.parameters())
rows, classes = torch.randn(n, 20), torch.randint(5, (n,))
kept = saved_tensors(lambda: F.cross_entropy(net(rows), classes))
real = distinct_elements(kept, ignore=net.parameters())
assert real == n * (sum(sizes) + 1) + 1
print(f"training {2 * p + real}, prediction "
      f"{p + n * max(d_in + d_out for d_in, d_out in pairs)} numbers")

# %% [markdown]
# ### Exercise 5.3-4
#
# The *Hessian* of $J$ with respect to the $p$ parameters is the $p\times p$ matrix of second derivatives.
# What does one row of it cost, and what the whole?
# How do you compute its product with a vector $\mathbf{v}$ without ever building it?

# %% [markdown]
# #### Solution 5.3-4

# %% [markdown]
# A row is the gradient of one entry of the gradient.
# The backward pass is itself a computation with a graph (`create_graph=True` records it), so a second backward pass through it gives the row, at a small multiple of the cost of a gradient.
# The whole matrix takes $p$ such passes and $p^2$ numbers.
#
# For a constant $\mathbf{v}\in\mathbb{R}^p$, $\nabla(\mathbf{v}^\top\nabla J)=\mathbf{H}\mathbf{v}$: differentiate the number $\mathbf{v}^\top\nabla J$, again at the price of one row.
# A row is the special case of a unit vector.

# %%
def objective(W):
    return forward(x5, label, W, W34, 0.1, "tanh").J


def hessian_vector(f, W, v):
    W = W.clone().requires_grad_()
    (g,) = torch.autograd.grad(f(W), W, create_graph=True)
    return torch.autograd.grad((g * v).sum(), W)[0]


H = torch.autograd.functional.hessian(objective, W45)  # (4, 5, 4, 5)
v = torch.randn(4, 5, generator=rng, dtype=f64)
torch.testing.assert_close(hessian_vector(objective, W45, v),
                           torch.tensordot(H, v, dims=2))
unit = torch.zeros(4, 5, dtype=f64)
unit[2, 3] = 1
torch.testing.assert_close(hessian_vector(objective, W45, unit), H[2, 3])

# %%
rows = torch.randn(8, 20)
second, matrix = torch.randn(20, 20), torch.randn(20, 20)


def score(W):
    return (torch.tanh(rows @ W) @ second).square().sum()


forward_cost = flops(lambda: score(matrix))
product_cost = flops(lambda: hessian_vector(score, matrix, matrix))
assert product_cost < 8 * forward_cost
print(f"Hessian times vector: {product_cost / forward_cost:.1f} forward "
      f"passes; the Hessian: {matrix.numel()} times that")

# %% [markdown]
# ### Exercise 5.3-5
#
# The graph of your network and minibatch does not fit into the memory of one device.
# Can you split it over several devices, and what would be gained and lost against a smaller minibatch?
# How do you get the gradient of a batch of 64 if only 16 examples fit?

# %% [markdown]
# #### Solution 5.3-5

# %% [markdown]
# The graph can be cut at any edge: the first layers on one device, the others on the next.
# The values go over the cut forward and the gradients back.
# Memory is shared out, but with a single minibatch only one device works at a time, and the transfers take time; feeding several small minibatches one after the other keeps the devices busier.
# Section 13.5 splits the *examples* instead.
#
# A smaller minibatch needs no second device, but its gradient is noisier, and small matrix products use the hardware badly.
#
# *Gradient accumulation* has the memory of the small batch and the gradient of the large one: run four batches of 16 with a backward pass each, do not zero the gradients in between, and divide each loss by 4, since the loss is a mean.

# %%
torch.manual_seed(5)
net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
rows, classes = torch.randn(64, 20), torch.randint(5, (64,))
F.cross_entropy(net(rows), classes).backward()
whole = [p.grad.clone() for p in net.parameters()]
net.zero_grad()
for part, part_labels in zip(rows.split(16), classes.split(16)):
    (F.cross_entropy(net(part), part_labels) / 4).backward()
for expected, p in zip(whole, net.parameters()):
    torch.testing.assert_close(p.grad, expected, rtol=0, atol=1e-6)

# %% [markdown]
# It holds for every layer that treats the examples one by one.
# Batch normalization (Section 8.5) does not: its statistics are those of 16 examples.

# %% [markdown]
# ### Exercise 5.3-6
#
# Add the operator `logsumexp` to the engine, for scores `(n, q)` along the last axis.
# Which function is its derivative?
# Make sure that scores of 1000 do no harm.

# %% [markdown]
# #### Solution 5.3-6

# %% [markdown]
# $\frac{\partial}{\partial o_j}\log\sum_ke^{o_k}=\frac{e^{o_j}}{\sum_ke^{o_k}}$: the softmax.
# The result has one axis less, so the gradient that arrives, of shape `(n,)`, multiplies the rows of the softmax.
# Subtracting the largest score first, $\log\sum_ke^{o_k}=m+\log\sum_ke^{o_k-m}$, prevents overflow, and the softmax is $e^{o_j-\operatorname{logsumexp}(\mathbf{o})}$, whose exponents are never positive.

# %%
@add_to_class(Var)
def logsumexp(self):
    o = self.data  # (n, q)
    top = o.max(dim=-1, keepdim=True).values  # (n, 1)
    value = top + (o - top).exp().sum(dim=-1, keepdim=True).log()
    return Var(value[..., 0], "lse", (self,),
               lambda g: (g[..., None] * (o - value).exp(),))


scores = torch.randn(4, 3, generator=rng, dtype=f64)
scores[0] += 1000
v = Var(scores)
result = v.logsumexp()
(result * result).sum().backward()  # gradients 2 * result arrive
expected = torch.logsumexp(scores, dim=-1)  # (4,)
torch.testing.assert_close(result.data, expected)
torch.testing.assert_close(
    v.grad, 2 * expected[:, None] * torch.softmax(scores, dim=-1))

# %% [markdown]
# ### Exercise 5.3-7
#
# The chain rule multiplies Jacobians, and a product may be bracketed as we like.
# Which order of multiplication is cheap for many inputs and one output, and which for one input and many outputs?

# %% [markdown]
# #### Solution 5.3-7

# %% [markdown]
# Let $\mathbf{M}_l\in\mathbb{R}^{n\times n}$ be the Jacobian of layer $l$ of $k$ layers, and $\mathbf{g}\in\mathbb{R}^n$ the gradient of the loss with respect to the last output:
#
# $$\left(\frac{\partial L}{\partial\mathbf{x}}\right)^\top = \left(\cdots\left(\left(\mathbf{g}^\top\mathbf{M}_k\right)\mathbf{M}_{k-1}\right)\cdots\right)\mathbf{M}_1 = \mathbf{g}^\top\left(\mathbf{M}_k\left(\cdots\left(\mathbf{M}_2\mathbf{M}_1\right)\right)\right). \tag{5.3.18}$$
#
# The first bracketing starts at the loss, is *reverse mode*, and multiplies a row by a matrix $k$ times: $kn^2$ multiplications.
# The second starts at the input, is *forward mode*, and multiplies matrices: $(k-1)n^3+n^2$.
# With many inputs and one output reverse mode wins by a factor of about $n$; with one input and many outputs it is the other way round.
# A loss is one number and has many parameters.

# %%
k, width = 16, 64
jacobians = [torch.randn(width, width) for _ in range(k)]
gradient = torch.randn(1, width)


def reverse_mode():
    row = gradient
    for M in reversed(jacobians):
        row = row @ M  # (1, n) @ (n, n)


def forward_mode():
    product = jacobians[0]
    for M in jacobians[1:]:
        product = M @ product  # (n, n) @ (n, n)
    gradient @ product


assert flops(reverse_mode) == 2 * k * width**2
assert flops(forward_mode) == 2 * ((k - 1) * width**3 + width**2)
print(f"{flops(forward_mode) / flops(reverse_mode):.0f} times as much")

# %% [markdown]
# ## Sources
#
# - S. Linnainmaa, Taylor expansion of the accumulated rounding error, 1976, [doi:10.1007/BF01931367](https://doi.org/10.1007/BF01931367): reverse mode, from his thesis of 1970.
# - D. E. Rumelhart, G. E. Hinton and R. J. Williams, Learning representations by back-propagating errors, 1986, [doi:10.1038/323533a0](https://doi.org/10.1038/323533a0).
# - W. Baur and V. Strassen, The complexity of partial derivatives, 1983, [doi:10.1016/0304-3975(83)90110-X](https://doi.org/10.1016/0304-3975%2883%2990110-X): all partial derivatives at a small multiple of the cost of the function.
# - A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed. 2008, [doi:10.1137/1.9780898717761](https://doi.org/10.1137/1.9780898717761); A. G. Baydin et al., Automatic differentiation in machine learning: a survey, 2018, [arXiv:1502.05767](https://arxiv.org/abs/1502.05767).
# - A. Griewank and A. Walther, Algorithm 799: revolve, 2000, [doi:10.1145/347837.347846](https://doi.org/10.1145/347837.347846); T. Chen et al., Training deep nets with sublinear memory cost, 2016, [arXiv:1604.06174](https://arxiv.org/abs/1604.06174): checkpointing.
# - B. A. Pearlmutter, Fast exact multiplication by the Hessian, 1994, [doi:10.1162/neco.1994.6.1.147](https://doi.org/10.1162/neco.1994.6.1.147): Exercise 5.3-4.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics and the notation of the seven steps.
