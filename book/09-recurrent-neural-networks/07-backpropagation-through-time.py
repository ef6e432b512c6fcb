# ---
# jupyter:
#   d2l:
#     data: [time-machine]
#     profiles:
#       gpu:
#         stream_size: 160000
#         stream_epochs: 4
#         num_gpus: 1
#       smoke:
#         stream_size: 4000
#         stream_epochs: 1
#     rehearsal:
#       stream_size: 0.05
#       stream_epochs: 0.25
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
# # 9.7 Backpropagation through time
#
# In the last two sections `loss.backward()` differentiated through 32 steps of a recurrent network, and nobody had to think about it.
# This section looks at what it computed: *backpropagation through time*, ordinary backpropagation in the unrolled network (Werbos, 1990).
# The gradient turns out to be a sum over pairs of steps, each with a product of as many matrices as there are steps between them, and from that follow the shortcuts that are taken on long texts, what they lose, and why the recurrent layers of today look different.
#
# **You will**
#
# - derive the gradient of a recurrent network and compute it backward, forward and by autograd, to the last bits of a float;
# - measure what is lost when it is truncated by `detach`, by a window, or at random;
# - tell when it vanishes or explodes, and why eigenvalues alone do not decide it;
# - compute a linear recurrence in $\lceil\log_2T\rceil$ rounds instead of $T$ steps.
#
# **Cost**: about 25 seconds on a CPU; an accelerator is used only in Exercise 4; a download of 0.2 MB, once.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.recurrent_neural_networks import (
    RNN, RNNLM, TimeMachine, clip_gradients, fit_clipped, perplexity,
    rnn_step)

d2l.use_style()

# %% tags=["parameters"]
stream_size = 100_000  # characters of Exercise 4
stream_epochs = 1
num_gpus = 0  # 1: use an accelerator, if there is one

# %% [markdown]
# ## One weight at every step
#
# Take a recurrent network with one hidden weight $w_h$ and one output weight $w_o$, all numbers:
#
# $$h_t=f(x_t,h_{t-1},w_h),\qquad o_t=g(h_t,w_o),\qquad L=\frac1T\sum_{t=1}^{T}l(y_t,o_t). \tag{9.7.1}$$
#
# Here $x_t$ is the input, $h_t$ the state, $o_t$ the output and $y_t$ the label of step $t$; $f$ is the recurrent layer, $g$ the output layer, $l$ the loss of one step, $T$ the number of steps.
# The state $h_0$ is given.
#
# ![Three columns, one for each step. Inputs x feed states h, states feed outputs o, outputs and labels y feed the loss L. The states form a chain from h0 to h3. Shaded boxes with the weight matrices repeat in each column. Dashed arrows run back along the chain of states.](img/bptt-graph.svg)
#
# **Figure 9.7.1.** The network unrolled over three steps.
# Shaded: parameters, the same three matrices in every column, named as in the linear network below.
# Dashed: the way of the gradient from step to step.
#
# By the chain rule,
#
# $$\frac{\partial L}{\partial w_h}=\frac1T\sum_{t=1}^{T}\frac{\partial l(y_t,o_t)}{\partial o_t}\,\frac{\partial g(h_t,w_o)}{\partial h_t}\,\frac{\partial h_t}{\partial w_h}. \tag{9.7.2}$$
#
# The first two factors belong to one step.
# The third does not: $w_h$ acts on $h_t$ directly, and through every earlier state:
#
# $$\frac{\partial h_t}{\partial w_h}=\frac{\partial f(x_t,h_{t-1},w_h)}{\partial w_h}+\frac{\partial f(x_t,h_{t-1},w_h)}{\partial h_{t-1}}\,\frac{\partial h_{t-1}}{\partial w_h}. \tag{9.7.3}$$
#
# On the right, $\partial f/\partial w_h$ holds $h_{t-1}$ fixed.
# For $h_t=w_hh_{t-1}+1$ with $h_0=0$ and $w_h=0.5$ the states are 1, 1.5, 1.75; then (9.7.3) gives the derivatives $0$, $1+0.5\cdot0=1$ and $1.5+0.5\cdot1=2$.
# Indeed $h_3=1+w_h+w_h^2$ has the derivative $1+2w_h=2$.
#
# A recursion of this form can be solved.
#
# **Lemma.** If $a_0=0$ and $a_t=b_t+c_ta_{t-1}$ for $t\ge1$, then
#
# $$a_t=b_t+\sum_{i=1}^{t-1}\Big(\prod_{j=i+1}^{t}c_j\Big)\,b_i. \tag{9.7.4}$$
#
# *Proof by induction.*
# For $t=1$ the sum is empty and $a_1=b_1$.
# If it holds for $t-1$, then $c_ta_{t-1}=c_tb_{t-1}+\sum_{i=1}^{t-2}\big(c_t\prod_{j=i+1}^{t-1}c_j\big)b_i$, and the first of these terms is the one with $i=t-1$.
#
# With $a_t=\frac{\partial h_t}{\partial w_h}$, $b_t=\frac{\partial f(x_t,h_{t-1},w_h)}{\partial w_h}$ and $c_t=\frac{\partial f(x_t,h_{t-1},w_h)}{\partial h_{t-1}}$ this is
#
# $$\frac{\partial h_t}{\partial w_h}=\frac{\partial f(x_t,h_{t-1},w_h)}{\partial w_h}+\sum_{i=1}^{t-1}\Big(\prod_{j=i+1}^{t}\frac{\partial f(x_j,h_{j-1},w_h)}{\partial h_{j-1}}\Big)\frac{\partial f(x_i,h_{i-1},w_h)}{\partial w_h}. \tag{9.7.5}$$
#
# The term $i$ says how the weight, as used in step $i$, acts on the state at step $t$; it carries $t-i$ factors.

# %%
# check 9.7-C2: the lemma for random numbers, and the example above
def by_recursion(b, c):
    """All a_t of the lemma, a list; b and c hold b_1, ..., b_T."""
    a = [0.0]
    for b_t, c_t in zip(b, c):
        a.append(b_t + c_t * a[-1])
    return a[1:]


rng = torch.Generator().manual_seed(970)
b, c = torch.randn(2, 10, generator=rng, dtype=torch.float64)
closed = [sum(c[i + 1:t + 1].prod() * b[i] for i in range(t + 1))
          for t in range(10)]
torch.testing.assert_close(torch.stack(closed),
                           torch.stack(by_recursion(b, c)))
assert by_recursion([0.0, 1.0, 1.5], [0.5, 0.5, 0.5]) == [0, 1, 2]

# %% [markdown]
# ## In detail: a linear network
#
# With vectors the factors become matrices, and their order matters.
# In this part we write, as most papers do, one sequence of column vectors; $\mathbf{W}_{hx}$ is the transpose of the book's $\mathbf{W}_{xh}$.
# Without bias and activation,
#
# $$\mathbf{h}_t=\mathbf{W}_{hx}\mathbf{x}_t+\mathbf{W}_{hh}\mathbf{h}_{t-1},\qquad \mathbf{o}_t=\mathbf{W}_{qh}\mathbf{h}_t, \tag{9.7.6}$$
#
# with $\mathbf{x}_t\in\mathbb{R}^d$, $\mathbf{h}_t\in\mathbb{R}^h$, $\mathbf{o}_t\in\mathbb{R}^q$ and matrices $\mathbf{W}_{hx}\in\mathbb{R}^{h\times d}$, $\mathbf{W}_{hh}\in\mathbb{R}^{h\times h}$, $\mathbf{W}_{qh}\in\mathbb{R}^{q\times h}$.
# From (9.7.1), $\frac{\partial L}{\partial\mathbf{o}_t}=\frac1T\frac{\partial l(\mathbf{y}_t,\mathbf{o}_t)}{\partial\mathbf{o}_t}$.
# Now go backward.
# The last state acts on the last output alone, each earlier one on its own output and on the next state:
#
# $$\frac{\partial L}{\partial\mathbf{h}_T}=\mathbf{W}_{qh}^\top\frac{\partial L}{\partial\mathbf{o}_T},\qquad
# \frac{\partial L}{\partial\mathbf{h}_t}=\mathbf{W}_{hh}^\top\frac{\partial L}{\partial\mathbf{h}_{t+1}}+\mathbf{W}_{qh}^\top\frac{\partial L}{\partial\mathbf{o}_t}. \tag{9.7.7}$$
#
# The lemma, run from the end, solves this too:
#
# $$\frac{\partial L}{\partial\mathbf{h}_t}=\sum_{i=t}^{T}\big(\mathbf{W}_{hh}^\top\big)^{T-i}\,\mathbf{W}_{qh}^\top\frac{\partial L}{\partial\mathbf{o}_{T+t-i}}. \tag{9.7.8}$$
#
# Each matrix is used in every step, so its gradient is a sum over steps:
#
# $$\frac{\partial L}{\partial\mathbf{W}_{qh}}=\sum_{t=1}^{T}\frac{\partial L}{\partial\mathbf{o}_t}\mathbf{h}_t^\top,\qquad
# \frac{\partial L}{\partial\mathbf{W}_{hx}}=\sum_{t=1}^{T}\frac{\partial L}{\partial\mathbf{h}_t}\mathbf{x}_t^\top,\qquad
# \frac{\partial L}{\partial\mathbf{W}_{hh}}=\sum_{t=1}^{T}\frac{\partial L}{\partial\mathbf{h}_t}\mathbf{h}_{t-1}^\top. \tag{9.7.9}$$
#
# With two steps, all matrices numbers, $W_{hx}=W_{qh}=1$, $W_{hh}=0.5$, inputs 1 and 0, labels 0 and half the squared error as loss: the states are 1 and 0.5, $\frac{\partial L}{\partial o_t}$ is $\frac12$ and $\frac14$, hence $\frac{\partial L}{\partial h_2}=\frac14$, $\frac{\partial L}{\partial h_1}=\frac12\cdot\frac14+\frac12=\frac58$ and $\frac{\partial L}{\partial W_{hh}}=\frac14\cdot1$.
#
# The code computes each state once and keeps it, because (9.7.9) needs all of them again: the price of the backward pass is memory for $T$ states.

# %%
def linear_rnn_grads(X, Y, W_hx, W_hh, W_qh):
    """Gradients of L by (9.7.7) and (9.7.9), l half the squared error.

    For one sequence, X (T, d) and Y (T, q). Returns those for W_hx, W_hh,
    W_qh and for the states h_1, ..., h_T, (T, h).
    """
    states = [X.new_zeros(len(W_hh))]
    for x in X:
        states.append(W_hx @ x + W_hh @ states[-1])
    H = torch.stack(states)  # (T + 1, h)
    dO = (H[1:] @ W_qh.T - Y) / len(X)  # (T, q)
    back = [W_qh.T @ dO[-1]]
    for do in dO[:-1].flip(0):
        back.append(W_hh.T @ back[-1] + W_qh.T @ do)
    dH = torch.stack(back[::-1])  # (T, h)
    return dH.T @ X, dH.T @ H[:-1], dO.T @ H[1:], dH

# %%
# check 9.7-C1: the formulas equal autograd, for T, d, h, q = 6, 3, 4, 2
rng = torch.Generator().manual_seed(971)
X, Y, W_hx, W_hh, W_qh = (
    torch.randn(shape, generator=rng, dtype=torch.float64)
    for shape in ((6, 3), (6, 2), (4, 3), (4, 4), (2, 4)))
weights = [W.requires_grad_() for W in (W_hx, W_hh, W_qh)]
states, outputs = [X.new_zeros(4)], []
for x in X:
    states.append(W_hx @ x + W_hh @ states[-1])
    outputs.append(W_qh @ states[-1])
L = sum(((o - y)**2).sum() / 2 for o, y in zip(outputs, Y)) / 6
grads = torch.autograd.grad(L, [*weights, *states[1:], *outputs])
auto, dO = (*grads[:3], torch.stack(grads[3:9])), torch.stack(grads[9:])
with torch.no_grad():
    ours = linear_rnn_grads(X, Y, *weights)
    powers = [torch.linalg.matrix_power(W_hh.T, k) for k in range(6)]
    closed = torch.stack([
        sum(powers[6 - i] @ W_qh.T @ dO[6 + t - i - 1]
            for i in range(t, 7)) for t in range(1, 7)])  # (9.7.8)
for mine, theirs in zip((*ours, closed), (*auto, auto[-1]), strict=True):
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)
two = linear_rnn_grads(torch.tensor([[1.0], [0]]), torch.zeros(2, 1),
                       *torch.tensor([1, 0.5, 1]).reshape(3, 1, 1))
assert two[1].item() == 0.25 and two[3].flatten().tolist() == [0.625, 0.25]

# %% [markdown]
# ## Backward, forward, autograd
#
# The same with tanh and a batch, in the book's row vectors.
# By the identity of [Section 9.4](04-recurrent-neural-networks.ipynb) one matrix $\mathbf{W}=[\mathbf{W}_{xh};\mathbf{W}_{hh};\mathbf{b}_h]\in\mathbb{R}^{(d+h+1)\times h}$ holds all parameters of the layer.
# We give each step its *own* copy of it: the copies are equal, but their gradients are not, and since sharing means that one matrix is used $T$ times, the gradient for the shared matrix is the sum of theirs.
#
# A second handle is $\xi_t$, a number that multiplies whatever the gradient carries from step $t$ back to step $t-1$.
# With $\xi_t=1$ nothing changes, with $\xi_t=0$ it is `detach`; the states are the same in any case.

# %%
def make_task(rho, size, T=32, n=4, d=3, h=8, q=2):
    """Random inputs, labels, zero state, output weights, and W.

    W_hh is rho times an orthogonal matrix, the inputs have standard
    deviation `size`. Returns (Xs, Ys, H, W_hq), W in double precision.
    """
    rng = torch.Generator().manual_seed(972)
    Xs, Ys, W_hq, W_xh, Z = (
        torch.randn(shape, generator=rng, dtype=torch.float64)
        for shape in ((T, n, d), (T, n, q), (h, q), (d, h), (h, h)))
    W_hh = rho * torch.linalg.qr(Z).Q
    W = torch.cat((W_xh / 2, W_hh, torch.zeros_like(W_hh[:1])))
    return (size * Xs, Ys, Xs.new_zeros(n, h), W_hq / h**0.5), W


def step(X, H, W):
    d = X.shape[1]
    return rnn_step(X, H, W[:d], W[d:-1], W[-1])


def loss_terms(Ws, task, xi):
    """The T terms of L, (T,): half squared errors, averaged over n.

    Step t uses the weights Ws[t], and xi[t] scales its way back.
    """
    Xs, Ys, H, W_hq = task
    terms = []
    for X, Y, W, x in zip(Xs, Ys, Ws, xi):
        H = H.detach() + x * (H - H.detach())
        H = step(X, H, W)
        terms.append(((H @ W_hq - Y)**2).sum() / (2 * len(X) * len(Xs)))
    return torch.stack(terms)


def auto_grad(W, task, xi):
    """The gradient of L for a W shared by all steps, by autograd."""
    W = W.detach().requires_grad_()
    terms = loss_terms(W.expand(len(xi), -1, -1), task, xi)
    return torch.autograd.grad(terms.sum(), W)[0]

# %% [markdown]
# Backward by hand, from the last step, it is (9.7.7) with one more factor: the gradient passes the tanh, whose derivative is $1-\tanh^2$.
# With $\mathbf{G}_t=\frac{\partial L}{\partial\mathbf{H}_t}$ and $\mathbf{D}_t=\mathbf{G}_t\odot(1-\mathbf{H}_t\odot\mathbf{H}_t)$, both of shape $(n,h)$ and with $\mathbf{D}_{T+1}=\mathbf{0}$,
#
# $$\mathbf{G}_t=\mathbf{D}_{t+1}\mathbf{W}_{hh}^\top+\frac{\partial L}{\partial\mathbf{O}_t}\mathbf{W}_{hq}^\top,\qquad \frac{\partial L}{\partial\mathbf{W}}=\sum_{t=1}^{T}[\mathbf{X}_t,\mathbf{H}_{t-1},\mathbf{1}]^\top\mathbf{D}_t, \tag{9.7.10}$$
#
# where $\mathbf{O}_t=\mathbf{H}_t\mathbf{W}_{hq}$ and $\mathbf{1}$ is a column of ones.
#
# The *forward* way is (9.7.3) itself: carry the derivative of the state with respect to all parameters along, and add to the gradient in every step.
# This is *real-time recurrent learning*, RTRL (Williams and Zipser, 1989; the idea is also in Robinson and Fallside, 1987); it needs no past, so it can learn while the sequence is still running.

# %%
def backward_grad(W, task, phi=torch.tanh, slope=lambda H: 1 - H**2):
    """The gradient of L for W from the last step back, by (9.7.10).

    `slope` maps a state to the derivative of `phi` that produced it.
    """
    Xs, Ys, H, W_hq = task
    inputs, states = [], []
    for X in Xs:
        inputs.append(torch.cat((X, H, torch.ones_like(H[:, :1])), dim=1))
        H = phi(inputs[-1] @ W)
        states.append(H)
    W_hh = W[Xs.shape[2]:-1]
    grad, D = torch.zeros_like(W), torch.zeros_like(H)
    for Z, H, Y in zip(inputs[::-1], states[::-1], Ys.flip(0)):
        dO = (H @ W_hq - Y) / (len(Y) * len(Xs))
        D = (D @ W_hh.T + dO @ W_hq.T) * slope(H)
        grad += Z.T @ D
    return grad


def forward_grad(W, task):
    """The same gradient in the order of time; nothing is stored."""
    Xs, Ys, H, W_hq = task
    W_hh, eye = W[Xs.shape[2]:-1], torch.eye(H.shape[1])
    J = W.new_zeros(*H.shape, *W.shape)  # dH / dW, (n, h, d + h + 1, h)
    grad = torch.zeros_like(W)
    for X, Y in zip(Xs, Ys):
        Z = torch.cat((X, H, torch.ones_like(H[:, :1])), dim=1)
        H = torch.tanh(Z @ W)
        J = (torch.einsum("ni,kj->nkij", Z, eye)
             + torch.einsum("mk,nmij->nkij", W_hh, J))
        J = J * (1 - H**2)[:, :, None, None]
        dO = (H @ W_hq - Y) / (len(Y) * len(Xs))
        grad += torch.einsum("nk,nkij->ij", dO @ W_hq.T, J)
    return grad

# %%
def distance(A, B):
    """Relative difference of two gradients."""
    return ((A - B).norm() / B.norm()).item()


T = 32
keep_all = torch.ones(T, dtype=torch.float64)
tasks = {"short memory": make_task(0.5, 1.0),
         "long memory": make_task(1.0, 0.3)}
full = {}
for name, (task, W) in tasks.items():
    full[name] = auto_grad(W, task, keep_all)
    for way in (backward_grad, forward_grad):
        assert distance(way(W, task), full[name]) < 1e-14
    print(f"{name}: three gradients agree to 14 digits")
for (task, W), rho, size in zip(tasks.values(), (0.5, 1), (1, 0.3)):
    torch.testing.assert_close(W[3:-1] @ W[3:-1].mT,
                               rho**2 * torch.eye(8).double())
    assert abs(task[0].std() / size - 1) < 0.1 and not W.requires_grad

# %% [markdown]
# Autograd and the reversed recursion multiply in the same order, from the last step back; forward accumulation starts at the first step.
# All three sum the same products and agree up to rounding.
# The two orders differ in cost.
# Backward stores $T$ states; forward stores one Jacobian that does not grow with $T$, but has an entry for each pair of a unit and a parameter, and updates all of it by a matrix product in each step.

# %%
for h, T_long in ((8, 32), (32, 32), (32, 10_000)):
    backward, forward = T_long * h, h * (3 + h + 1) * h
    print(f"{h} units, {T_long} steps: numbers kept per sequence "
          f"backward {backward:,d}, forward {forward:,d}")

# %% [markdown]
# For 32 units the Jacobian is as large as the states of more than a thousand steps, and its update costs about $h^4$ multiplications.
# Where the recurrence is elementwise, the Jacobian is nearly empty and forward accumulation becomes practical for a single layer (Irie and others, 2023).

# %% [markdown]
# ## Full, truncated, randomized
#
# A book is one sequence of more than $10^5$ steps.
# The full gradient for its last character would run back to the first: all these states stored for one update, and a result that reacts to tiny changes at the beginning wherever the products grow, like the butterfly's weather.
# For long sequences it is rarely computed.
# So the sum is cut, in one of the ways of Figure 9.7.2.
#
# ![The text "the time machine by h g wells i" in three rows. Randomized: segments of unequal length. Truncated: segments of eight characters. Full: one segment. An arrow below each segment runs from its end to its start.](img/bptt-strips.svg)
#
# **Figure 9.7.2.** How far the gradient flows back: to the start of its segment.
# The states flow forward through all cuts.
#
# *Truncation*, in its usual form today, runs $\tau$ steps, backpropagates, and *detaches* the state before it goes on:

# %%
def truncated_grad(W, task, tau):
    """The gradient of L cut into segments of tau steps."""
    Xs, Ys, H, W_hq = task
    W = W.detach().requires_grad_()
    for X_part, Y_part in zip(Xs.split(tau), Ys.split(tau)):
        H, loss = H.detach(), 0.0  # the value goes on, the gradient stops
        for X, Y in zip(X_part, Y_part):
            H = step(X, H, W)
            loss += ((H @ W_hq - Y)**2).sum() / (2 * len(X) * len(Xs))
        loss.backward()  # adds to W.grad and frees the segment's graph
    return W.grad

# %% [markdown]
# What exactly is left out?
# Split the full gradient into its pairs: $\mathbf{C}_{t,i}$ is the gradient of the loss term of step $t$ with respect to the copy of $\mathbf{W}$ used in step $i\le t$.
# With factors $\xi$ the gradient is
#
# $$\sum_{t=1}^{T}\sum_{i=1}^{t}\Big(\prod_{j=i+1}^{t}\xi_j\Big)\,\mathbf{C}_{t,i}. \tag{9.7.11}$$

# %%
def pair_grads(W, task):
    """All C_{t,i}, (T, T, d + h + 1, h): zero for i > t."""
    T = len(task[0])
    Ws = W.repeat(T, 1, 1).requires_grad_()
    return torch.stack([
        torch.autograd.grad(term, Ws, retain_graph=True)[0]
        for term in loss_terms(Ws, task, torch.ones(T, dtype=W.dtype))])


def weights_of(xi):
    """The products in (9.7.11), (T, T): row t, column i."""
    M = torch.eye(len(xi), dtype=xi.dtype)
    for t in range(1, len(xi)):
        M[t, :t] = xi[t] * M[t - 1, :t]
    return M


def cuts(tau):
    """xi for segments of tau steps: 0 at their first step, else 1."""
    return (torch.arange(T) % tau != 0).double()

# %%
# check 9.7-C4: detach gives the truncated sum; tau = T the full gradient
rng = torch.Generator().manual_seed(974)
pairs = {name: pair_grads(W, task) for name, (task, W) in tasks.items()}
for name, (task, W) in tasks.items():
    for tau in (1, 4, 5, 16, T):
        cut = truncated_grad(W, task, tau)
        summed = torch.einsum("ti,ti...->...", weights_of(cuts(tau)),
                              pairs[name])
        assert distance(summed, cut) < 1e-14
        assert distance(auto_grad(W, task, cuts(tau)), cut) < 1e-14
        gap = distance(cut, full[name])
        assert gap < 1e-14 if tau == T else gap > 0.01
    xi = torch.rand(T, generator=rng, dtype=torch.float64)  # any factors
    mixed = torch.einsum("ti,ti...->...", weights_of(xi), pairs[name])
    assert distance(auto_grad(W, task, xi), mixed) < 1e-14
    values = [loss_terms(W.expand(T, -1, -1), task, factors)
              for factors in (xi, keep_all, cuts(5))]
    assert torch.equal(values[0], values[1])  # states do not change
    assert torch.equal(values[0], values[2])
apart = torch.arange(T)[:, None] - torch.arange(T)  # t - i
for C in pairs.values():  # no step acts on an earlier loss
    assert (C[apart < 0] == 0).all() and (C[apart >= 0] != 0).any()

# %% [markdown]
# So the gradient truncated by `detach` agrees with the full one to machine precision for $\tau=T$, and is off by more than a hundredth for the shorter segments.
# Note what `detach` does: it keeps all pairs *within a segment*, so the first step of a segment looks back zero steps and the last one $\tau-1$.
# Formula (9.7.5) suggests another cut: a *window*, in which every step looks back $\tau-1$ steps; it is what Williams and Peng called truncated and widely used in 1990.
# It costs more: every loss term needs its own backward pass of $\tau$ steps, and on a sequence that fits into memory that is more work than the full gradient.
# Williams and Peng's own algorithm lies between the two: its backward pass is longer than the segment, and it runs once every few steps.

# %%
taus = torch.arange(1, T + 1)
errors = {}
for name, (task, W) in tasks.items():
    errors[name, "segments"] = torch.tensor([
        distance(auto_grad(W, task, cuts(tau)), full[name])
        for tau in taus])
    errors[name, "window"] = torch.tensor([
        distance(pairs[name][apart < tau].sum(dim=0), full[name])
        for tau in taus])

# %% tags=["hide-input", "rtol=0.1"]
fig, (left, right) = plt.subplots(1, 2, figsize=(6.8, 2.9),
                                  width_ratios=[2, 3])
sizes = pairs["long memory"].norm(dim=(2, 3)).log10()
shown = torch.where(apart >= 0, sizes, torch.nan)
image = left.imshow(shown, vmin=-4, vmax=-1,
                    extent=(0.5, T + 0.5, T + 0.5, 0.5))
left.grid(False)
left.set(xlabel="step i of the weight", ylabel="step t of the loss",
         title="long memory", xticks=(1, 8, 16, 24, 32),
         yticks=(1, 8, 16, 24, 32))
for k in range(8, T, 8):  # the segments of 8 steps
    left.plot([k - 7.5, k + 0.5, k + 0.5], [k + 0.5, k + 0.5, k + 8.5],
              color="#D55E00", lw=1.2)
left.plot([24.5, 32.5], [32.5, 32.5], color="#D55E00", lw=1.2)
fig.colorbar(image, ax=left, shrink=0.8, label="log10 of the norm")
for k, ((name, cut), error) in enumerate(errors.items()):
    right.plot(taus, error.clamp(min=1e-14), ("o-", "^--")[k % 2], ms=3,
               lw=1, color=f"C{k // 2}", label=f"{cut}, {name}")
right.set(yscale="log", xlabel=r"$\tau$", ylim=(1e-15, 10),
          ylabel="relative error of the gradient")
right.legend(fontsize=7, loc="lower left")
d2l.describe(fig, """Left: norms of the pairs as a lower triangle, falling
    by some orders of magnitude away from the diagonal; four triangles of
    eight steps are outlined. Right: relative error against tau on a log
    scale. For segments it moves up and down, in both networks, and at
    tau = 31 is about a tenth of that at 1. For the window it falls in a line
    with short memory, to about 1e-14 at tau = 31, and to about 0.002 with
    long memory. All four are at the floor of 1e-14 for tau = 32.""")

# %% [markdown]
# **Figure 9.7.3.** Left: the size of the pairs $\mathbf{C}_{t,i}$; segments of 8 keep what lies inside the four triangles.
# Right: distance of the truncated gradient from the full one in two random networks; errors below $10^{-14}$ are drawn at that value.
# Short memory: $\mathbf{W}_{hh}$ is half an orthogonal matrix, the inputs have standard deviation 1; long memory: it is the orthogonal matrix itself, and the inputs have 0.3.

# %%
# segments err at their borders, a window err far from the diagonal
for name in tasks:
    segments, window = errors[name, "segments"], errors[name, "window"]
    assert (segments[:31] > 0.01).all()
    assert abs(segments[0] / window[0] - 1) < 1e-6  # one step: the same
    assert (window[7:31] < segments[7:31]).all()
    assert (window.diff() < 0)[:20].all() and window[31] < 1e-14
    assert segments[31] < 1e-14
short, long = (errors[name, "window"] for name in tasks)
assert short[15] < 1e-6 and long[15] > 0.01

# %% [markdown]
# In the network with short memory a window of 16 steps is exact to six digits.
# Segments are not, in either network: at $\tau=31$, with a single cut, more than one per cent of the gradient is still missing.
# A cut separates neighbours too; to see whether that is the reason, put back the lost pairs that are at most four steps apart:

# %%
remains = {}
near = (apart >= 0) & (apart <= 4)
for name in tasks:
    for tau in (16, 31):
        kept = pairs[name][(weights_of(cuts(tau)) > 0) | near].sum(dim=0)
        before = errors[name, "segments"][tau - 1].item()
        remains[name, tau] = distance(kept, full[name]) / before
        print(f"{name}, segments of {tau}: of the error "
              f"{remains[name, tau]:.0%} remains")
assert max(remains["short memory", tau] for tau in (16, 31)) < 0.1
assert min(remains["long memory", tau] for tau in (16, 31)) > 0.4
assert (errors["long memory", "window"][30]
        < errors["long memory", "segments"][30] / 10)

# %% [markdown]
# With short memory it is: less than a tenth of the error remains.
# With long memory more than two fifths remain: pairs five and more steps apart count there.
# A window keeps those that are less than $\tau$ apart, and at $\tau=31$ its error is less than a tenth of that of the segments.
# So "truncated after $\tau$ steps" means two things, and `detach` is the cheap and cruder one.
# It is nevertheless the standard, for it bounds memory and the number of factors at the cost of one pass.
# Training on windows of 32 characters with a fresh state, as in [Section 9.5](05-rnn-scratch.ipynb), goes one step further: it cuts the state too.
# Exercise 4 measures what that costs.
#
# ### At random
#
# Truncation has a *bias*: pairs further apart than $\tau-1$ steps are never seen, however long one trains.
# *Randomized truncation* (Tallec and Ollivier, 2017) removes it.
# Draw independent numbers
#
# $$\xi_t\in\{0,1/\pi_t\},\qquad P(\xi_t=1/\pi_t)=\pi_t,\qquad\text{hence } E[\xi_t]=1, \tag{9.7.12}$$
#
# and in (9.7.3) multiply the recursive term:
#
# $$z_t=\frac{\partial f(x_t,h_{t-1},w_h)}{\partial w_h}+\xi_t\,\frac{\partial f(x_t,h_{t-1},w_h)}{\partial h_{t-1}}\,z_{t-1}. \tag{9.7.13}$$
#
# Since $\xi_t$ is independent of $z_{t-1}$, induction gives $E[z_t]=\frac{\partial h_t}{\partial w_h}$.
# Long runs are rare and weigh more in return.
# The price is variance.
# With $b_t$ and $c_t$ as after the lemma and $E[\xi_t^2]=1/\pi_t$,
#
# $$\operatorname{Var}[z_t]=\frac{c_t^2}{\pi_t}\operatorname{Var}[z_{t-1}]+c_t^2\Big(\frac1{\pi_t}-1\Big)E[z_{t-1}]^2. \tag{9.7.14}$$
#
# Where the network remembers, with $c_t^2>\pi_t$, the variance grows in every step.
# One number as a state, ten steps, $h_t=\tanh(h_{t-1}+x_t)$:

# %%
x = [0.5, -0.3, 0.2, 0.4, -0.5, 0.1, 0.3, -0.2, 0.4, 0.1]
h, b, c = 0.0, [], []
for x_t in x:  # the weight of h is 1
    h, before = math.tanh(h + x_t), h
    b.append((1 - h * h) * before)
    c.append(1 - h * h)
b, c = torch.tensor([b, c], dtype=torch.float64)
true_value = by_recursion(b, c)[-1]


def randomised_truncation(pi, trials):
    """`trials` values of z_T by (9.7.13), pi_t = pi, (trials,)."""
    rng = torch.Generator().manual_seed(975)
    z = torch.zeros(trials, dtype=torch.float64)
    for b_t, c_t in zip(b, c):
        keep = (torch.rand(trials, generator=rng) < pi).double()
        z = b_t + keep / pi * c_t * z
    return z


def exact_sd(pi):
    """The standard deviation of z_T by (9.7.14)."""
    mean = variance = 0.0
    for b_t, c_t in zip(b.tolist(), c.tolist()):
        variance = c_t**2 * (variance / pi + (1 / pi - 1) * mean**2)
        mean = b_t + c_t * mean
    return variance**0.5

# %%
# check 9.7-C5: unbiased, the smaller pi the noisier; truncation is biased
trials, sds = 200_000, {}
for pi in (0.9, 0.7, 0.5):
    z, sds[pi] = randomised_truncation(pi, trials), exact_sd(pi)
    error = (z.mean() - true_value).abs().item()
    print(f"pi {pi}: mean {z.mean():.3f} of {true_value:.3f}, "
          f"standard deviation {z.std():.2f}")
    assert error < 4 * sds[pi] / trials**0.5
    assert abs(z.std().item() / sds[pi] - 1) < 0.05
assert 2 * sds[0.9] < sds[0.7] and 2 * sds[0.7] < sds[0.5]
assert (randomised_truncation(1.0, 5) - true_value).abs().max() < 1e-12
biases = {}
for tau in range(1, 11):  # the last tau terms of (9.7.5), no variance
    kept = by_recursion(b[-tau:], c[-tau:])[-1]
    biases[tau] = (kept - true_value).item()
assert max(list(biases.values())[:6]) < -0.1 and abs(biases[9]) < 1e-12

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.2, 3.0))
ax.plot([abs(biases[tau]) for tau in range(1, 10)], [0] * 9, "s",
        color="C1", label="truncated", clip_on=False)
for tau in (1, 3, 6):
    ax.annotate(rf"$\tau={tau}$", (abs(biases[tau]), 0), (0, 7),
                textcoords="offset points", ha="center", fontsize=8)
grid = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
ax.plot([0] * len(grid), [exact_sd(pi) for pi in grid], "^",
        color="C0", label="randomized", clip_on=False)
for pi in (0.9, 0.7, 0.5):
    ax.annotate(rf"$\pi={pi}$", (0, sds[pi]), (8, -3),
                textcoords="offset points", fontsize=8)
ax.plot([0], [0], "o", color="C3", label="full", clip_on=False, ms=8)
ax.set(xlabel="size of the bias", ylabel="standard deviation",
       xlim=(-0.02, 0.8), ylim=(-0.08, 2.8))
ax.legend()
d2l.describe(ax, """Full gradient at the origin. Truncated estimates on the
    horizontal axis, bias from about 0.7 for one step down to 0 for nine.
    Randomized estimates on the vertical axis, standard deviation from 0.3
    at pi = 0.95 to 2.5 at pi = 0.5.""")

# %% [markdown]
# **Figure 9.7.4.** Truncation errs by bias alone, randomization by variance alone; the full derivative, about 1.1, is at the origin.
# The square for $\tau=9$ lies there too: the only term it lacks is $b_1=0$.

# %%
# about the same number of steps back, for one draw and for nine
reach = sum(0.9**k for k in range(10))  # mean number of terms kept
assert abs(reach - 6.5) < 0.05 and 9 * reach > 5 * len(x)
assert sds[0.9] > 1.5 * abs(biases[6])
assert sds[0.9] / 3 < abs(biases[6]) < sds[0.9] / 8**0.5
assert abs(true_value - 1.1) < 0.05

# %% [markdown]
# For a single draw, randomization is a bad bargain here: with $\pi=0.9$ it keeps 6.5 terms on average, and errs more than truncation to 6 does.
# But the mean of $m$ independent draws has a standard deviation smaller by $\sqrt m$, while the bias stays.
# Nine draws make up for it here, at more than five times the cost of the full derivative; in training, the averaging comes with the many steps of the optimizer.
# Tallec and Ollivier report reliable convergence on a synthetic task where truncation can diverge, and a slightly better result on characters of the Penn Treebank.
# One also reads that randomization does not pay off in practice; that is not what their paper found.

# %% [markdown]
# ## Vanishing and exploding
#
# By (9.7.8), a loss $k$ steps later arrives multiplied by $(\mathbf{W}_{hh}^\top)^k$.
# That this makes long dependencies hard to learn was shown by Hochreiter in his thesis of 1991 and by Bengio, Simard and Frasconi (1994).
# For $\mathbf{W}_{hh}=\rho\,\mathbf{Q}$ with $\mathbf{Q}$ orthogonal, all lengths are multiplied by exactly $\rho^k$.

# %%
# check 9.7-C3: the 50th power of a scaled orthogonal matrix
rng = torch.Generator().manual_seed(973)
Q = torch.linalg.qr(torch.randn(8, 8, generator=rng,
                                dtype=torch.float64)).Q
for rho, expected in ((0.9, 0.00515), (1.0, 1.0), (1.1, 117.39)):
    power = torch.linalg.matrix_power(rho * Q.T, 50)
    norm = torch.linalg.matrix_norm(power, ord=2).item()
    print(f"rho {rho}: {norm:.5g}")
    assert abs(norm - rho**50) < 1e-10 * rho**50
    assert abs(norm / expected - 1) < 1e-3

# %% [markdown]
# If one eigenvalue of a diagonalizable $\mathbf{M}$ is larger in absolute value than all others, $\mathbf{M}^k\mathbf{x}$ also turns towards its eigenvector, for almost every $\mathbf{x}$ (Exercise 1).
# With such a matrix a distant loss does not only shrink or grow: whatever it said, it arrives in nearly one direction, up to the sign.

# %%
# check 9.7-C6: powers of a symmetric matrix align with its leading vector
values = torch.tensor([1.2, 0.8, -0.8, 0.5, 0.3, -0.1, 0.0, 0.6]).double()
M = Q @ torch.diag(values) @ Q.T
found, vectors = torch.linalg.eigh(M)
assert abs(found[-1] / found[:-1].abs().max() - 1.5) < 1e-6
losses = torch.randn(8, 5, generator=rng, dtype=torch.float64)
tangents, Z = [], losses  # five different x at once
for k in range(51):
    cosine = (vectors[:, -1] @ Z).abs() / Z.norm(dim=0)
    tangents.append((1 - cosine**2).clamp(min=0).sqrt() / cosine)
    if k in (0, 5, 50):
        print(f"k = {k}: |cosine|", *(f"{v:.3f}" for v in cosine.tolist()))
    Z = M @ Z
assert cosine.min() > 0.999 and tangents[0].max() > 1
for k in range(15):  # the tangent shrinks by 1.5 or more in each step
    assert (tangents[k + 1] <= tangents[k] / 1.5 + 1e-9).all()

# %% [markdown]
# Are eigenvalues the whole answer, then?
# No, and the difference matters.
# The *spectral radius*, the largest absolute eigenvalue, governs the powers as $k\to\infty$.
# What bounds each step is the largest *singular value* $\sigma_{\max}$.
# With tanh the factor at step $t$ is $\mathbf{W}_{hh}$ (its transpose, for columns) times $\mathrm{diag}(1-h^2)$, with entries in $(0,1]$, so
#
# $$\Big\|\frac{\partial L}{\partial\mathbf{h}_t}\Big\|\le\sigma_{\max}^{T-t}\,\Big\|\frac{\partial L}{\partial\mathbf{h}_T}\Big\| \tag{9.7.15}$$
#
# if only the last step has a loss.
# Hence $\sigma_{\max}<1$ is sufficient for vanishing, and $\sigma_{\max}>1$ is necessary for explosion (Pascanu, Mikolov and Bengio, 2013).
# A function measures the left side for any recurrent layer whose state is one tensor; Section 10.1 uses it again.

# %% tags=["export"]
def state_grad_norms(rnn, Xs, H, readout=None):
    """Norms of the gradient of the last state's loss at each state.

    `rnn(X, H)` is one step, from X (n, d) and H (n, h) to the next state.
    The loss is the sum of the last state, or `readout` of it. Returns
    (T + 1,): place t is the norm of the gradient with respect to H_t.
    """
    states = [H.detach().requires_grad_()]
    for X in Xs:
        states.append(rnn(X, states[-1]))
    loss = (readout or torch.sum)(states[-1])
    grads = torch.autograd.grad(loss, states)
    return torch.stack([grad.norm() for grad in grads])

# %% tags=["hide-input"]
# check: by the recursion, with and without readout; H stays as it is
rng = torch.Generator().manual_seed(977)
U, Xs, H, r = (torch.randn(shape, generator=rng, dtype=torch.float64)
               for shape in ((3, 3), (5, 2, 3), (2, 3), (2, 3)))
H.requires_grad_()
for readout, G in ((None, torch.ones_like(r)), (lambda H: (H * r).sum(), r)):
    norms = state_grad_norms(lambda X, H: torch.tanh(X + H @ U), Xs, H,
                             readout)
    with torch.no_grad():
        states = [H]
        for X in Xs:
            states.append(torch.tanh(X + states[-1] @ U))
        expected = [G.norm()]
        for state in states[:0:-1]:
            G = G * (1 - state**2) @ U.T
            expected.append(G.norm())
    torch.testing.assert_close(norms, torch.stack(expected[::-1]))
assert len(norms) == 6 and not norms.requires_grad and H.grad is None
plain = H.detach()
state_grad_norms(lambda X, H: X + H @ U, Xs, plain)
assert not plain.requires_grad

# %%
def curve(W_hh, size, T, seed=0):
    """Norms against distance 0, ..., T, relative to that at distance 0.

    The inputs have standard deviation `size`; the loss is the sum of the
    last state.
    """
    rng = torch.Generator().manual_seed(seed)
    Xs = size * torch.randn(T, 1, len(W_hh), generator=rng,
                            dtype=torch.float64)
    norms = state_grad_norms(lambda X, H: torch.tanh(X + H @ W_hh), Xs,
                             torch.zeros_like(Xs[0]))
    return norms.flip(0) / norms[-1]  # norms[-1] is that of H_T


# eigenvalues 0.9 four times; the part above the diagonal is not normal
bent = 0.9 * torch.eye(4).double() + torch.diag(torch.ones(3).double(), 1)
linear = {"0.9": curve(0.9 * Q, 0, 150), "1": curve(Q, 0, 150),
          "1.1": curve(1.1 * Q, 0, 150), "bent": curve(bent, 0, 150)}
driven = {size: [curve(1.1 * Q, size, 50, seed=seed) for seed in range(3)]
          for size in (0, 0.1, 1.0)}

# %%
# check 9.7-C7: the bound holds for tanh; radius 0.9 may grow first
for W_hh in (0.8 * Q, 1.3 * Q, bent, M):
    sigma = torch.linalg.matrix_norm(W_hh, ord=2)
    for size in (0, 0.3, 2.0):
        norms = curve(W_hh, size, 40)
        assert (norms <= sigma**torch.arange(41) * (1 + 1e-12)).all()
for rho in ("0.9", "1", "1.1"):  # zero states: the bound is attained
    exact = float(rho)**torch.arange(151).double()
    torch.testing.assert_close(linear[rho], exact)
radius = torch.linalg.eigvals(bent).abs().max().item()
peak = linear["bent"].argmax().item()
assert abs(radius - 0.9) < 1e-3 and linear["bent"][peak] > 100
assert 25 <= peak <= 30 and linear["bent"][-1] < 0.1

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(6.8, 2.9), sharey=True)
for (name, norms), style in zip(linear.items(), ("-", "--", "-.", ":")):
    label = rf"$\rho={name}$" if name != "bent" else "not normal, 0.9"
    left.plot(norms, style, label=label)
for k, (size, curves) in enumerate(driven.items()):
    for seed, norms in enumerate(curves):
        right.plot(norms, ("-", "--", "-.")[k], color=f"C{k + 4}", lw=1,
                   label=f"inputs {size:g}" if seed == 0 else None)
left.set(yscale="log", xlabel="distance in steps", ylabel="gradient norm",
         title="zero states", ylim=(1e-12, 1e7))
right.set(xlabel="distance in steps", title=r"tanh, $\rho=1.1$")
for ax in (left, right):
    ax.legend(fontsize=7)
d2l.describe(fig, """Gradient norm against distance, log scale. Left:
    straight lines for rho = 0.9, 1 and 1.1, falling, level and rising; the
    non-normal matrix rises to about 130 at 28 steps, then falls below 0.1 at
    150. Right, tanh with rho = 1.1: without inputs the norm rises to above
    100 at 50 steps; with inputs of 0.1 it stays within a factor of ten of
    1; with inputs of 1 it falls to below 1e-8.""")

# %% [markdown]
# **Figure 9.7.5.** Norm of the gradient at the state, against the distance to the loss.
# Left: states that stay at zero, where tanh has slope 1.
# Right: the same orthogonal matrix times 1.1 with inputs of three sizes, three seeds each.

# %%
at_50 = {size: torch.stack(curves)[:, 50] for size, curves in driven.items()}
assert (at_50[0] - 1.1**50).abs().max() < 1e-8
assert at_50[0.1].min() > 0.1 and at_50[0.1].max() < 10
assert at_50[1.0].max() < 1e-8 and len(at_50[1.0].unique()) == 3

# %% [markdown]
# The left panel holds two lessons.
# With zero states, geometric decay or growth is exact for multiples of orthogonal matrices; and with a non-normal matrix of spectral radius 0.9 the gradient grows a hundredfold over nearly thirty steps before it decays.
# The right panel adds the state: in these runs, with one and the same matrix, the gradient grows, stays within a factor of ten or vanishes within fifty steps, depending on the size of the inputs alone.
# They enter the product only through the slopes $1-h^2$, which are small where a unit saturates.
# Saturation need not shrink it, however.
# The matrix with the rows $(2,-4)$ and $(1,-2)$ has the square zero, so both its eigenvalues are 0; multiply the rows by the slopes 1 and $\delta$, and the eigenvalues are 0 and $2-2\delta$.
# As long as the inputs hold the first unit at zero and the second near its limit, the gradient of almost any loss nearly doubles with each step back.
#
# Back to the orthogonal matrix times 1.1: let it run longer, and with tiny inputs:

# %%
for size, T_long in ((0.1, 400), (0.001, 50), (0.001, 400)):
    curves = torch.stack([curve(1.1 * Q, size, T_long, seed=seed)
                          for seed in range(6)])
    print(f"inputs {size}, {T_long} steps: norm at the end",
          *(f"{v:.3g}" for v in curves[:, -1].tolist()))
    if T_long == 50:
        assert curves[:, -1].min() > 50
    elif size == 0.1:
        assert curves[:, -1].max() < 0.01
    else:
        assert curves.max() < 1000 and curves[:, -1].min() < 1

# %% [markdown]
# Over 400 steps the middle case decays as well, in six runs to below a hundredth.
# And with this matrix the steady growth belongs to states near zero: with inputs of 0.001 the gradient still grows more than fiftyfold over 50 steps, but over 400 it stays below a thousand in all six, where $1.1^{400}$ exceeds $10^{16}$.
# By then the states have grown, and their slopes hold the product down.
#
# And *clipping* ([Section 9.5](05-rnn-scratch.ipynb))?
# It multiplies the whole sum (9.7.11) by one number.
# That limits an exploding step; the ratio of near and far pairs stays what it was, so it gives nothing back to what has vanished.

# %%
task, W = tasks["long memory"]
near, far = (pairs["long memory"][mask].sum(dim=0)
             for mask in (apart < 8, apart >= 8))
param = W.clone()
param.grad = near + far
norm = clip_gradients([param], 0.1)
factor = 0.1 / norm
clipped = factor * near + factor * far
assert norm > 0.1 and distance(param.grad, clipped) < 1e-12
print(f"far pairs relative to near ones: {far.norm() / near.norm():.2f}, "
      f"clipped {(factor * far).norm() / (factor * near).norm():.2f}")

# %% [markdown]
# ## Where it led: linear recurrences
#
# The backward recursion (9.7.10) is linear in $\mathbf{G}$ whatever the activation.
# It is the forward pass that goes step by step: two steps with a tanh are not one step of the same form.
# And every factor is a full matrix.
# Suppose instead that the recurrence is linear in the state and elementwise,
#
# $$\mathbf{h}_t=\mathbf{a}_t\odot\mathbf{h}_{t-1}+\mathbf{b}_t,\qquad\mathbf{h}_0=\mathbf{0}, \tag{9.7.16}$$
#
# with $\mathbf{a}_t,\mathbf{b}_t\in\mathbb{R}^h$ computed from the input alone.
# That is the lemma again, and the lemma has a useful structure.
# A step is a pair $(a,b)$, meaning $h\mapsto ah+b$; first $(a,b)$ and then $(a',b')$ is the pair
#
# $$(a,b)\circ(a',b')=(a'a,\;a'b+b'). \tag{9.7.17}$$
#
# Composing functions is associative, so the pairs may be combined in any grouping, for example in a tree: in round $r$ every position composes its pair with the one $2^{r-1}$ steps earlier.
#
# ![Eight positions in four rows. In the first row each box covers one step. In each round a box is joined with the one 1, 2, then 4 positions to its left; after three rounds the last box covers steps 1 to 8.](img/bptt-scan.svg)
#
# **Figure 9.7.6.** After round $r$ each position covers its last $2^r$ steps; green boxes reach back to the start and are done.

# %% tags=["export"]
def linear_scan(a, b):
    """All states of h_t = a_t h_{t-1} + b_t, h_0 = 0, in ceil(log2(T)) rounds.

    `a` and `b` have shape (T, ...), elementwise; so does the result.
    """
    distance = 1
    while distance < len(a):
        early_a, early_b = a[:-distance], b[:-distance]
        b = torch.cat((b[:distance],
                       a[distance:] * early_b + b[distance:]))
        a = torch.cat((a[:distance], a[distance:] * early_a))
        distance *= 2
    return b

# %% [markdown]
# The work of one round can be done at all positions at once.
# What remains sequential is the longest chain of multiplications that depend on one another; the graph that autograd recorded tells it, and the backward pass walks the same graph.

# %%
def longest_chain(node, known):
    """Most multiplications on one path of an autograd graph."""
    if node not in known:
        below = [longest_chain(n, known) for n, _ in node.next_functions if n]
        known[node] = max(below, default=0) + ("Mul" in node.name())
    return known[node]


def loop(a, b):
    """The same states one after the other."""
    return torch.stack(by_recursion(b, a))

# %%
# check 9.7-C8: scan and loop agree, gradients included; six rounds for 64
rng = torch.Generator().manual_seed(978)
for T_scan in (1, 2, 37, 64):
    a, b, r = (torch.randn(T_scan, 3, 2, generator=rng,
                           dtype=torch.float64) for _ in range(3))
    a, b = a.requires_grad_(), b.requires_grad_()
    results, chains = [], []
    for way in (linear_scan, loop):
        H, known = way(a, b), {}
        chains.append(longest_chain(H.grad_fn, known) if H.grad_fn else 0)
        if way is linear_scan:
            work = sum(len(node._saved_self) for node in known
                       if "Mul" in node.name())
        results.append((H, *torch.autograd.grad(
            (H * r).sum(), (a, b), allow_unused=True,
            materialize_grads=True)))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    print(f"T = {T_scan}: longest chain {chains[0]} by scan, "
          f"{chains[1]} by loop")
    assert chains == [math.ceil(math.log2(T_scan)), T_scan]
assert chains == [6, 64] and 64 * 6 < work < 2 * 64 * 6

# %% [markdown]
# In total the scan multiplies more, for $T=64$ between $T\log_2T$ and $2T\log_2T$ times instead of $T$: it can pay off only where many multiplications run at once, and this notebook does not measure when.
# The idea is old; Kogge and Stone published recursive doubling for recurrences in 1973.
# Other scans take about twice as many rounds, but multiply only in proportion to $T$ (Blelloch, 1990).
#
# The parallel scan is what many recurrent layers of today rest on.
# Mamba (Gu and Dao, 2023) and the minGRU of Section 10.2 let $\mathbf{a}_t$ and $\mathbf{b}_t$ depend on the input but not on the state, and train by a parallel scan; Section 11.6 reads linear attention as such a recurrence.
# The nonlinear recurrence is not given up: Newton's method can solve for all its states at once, each iteration a linear recurrence (Lim and others, 2023).
# Its factors are the Jacobians of the cell; the authors of ParaRNN (2025) chose cells in which these are diagonal or consist of small blocks on the diagonal, and trained language models of 7 billion parameters in this way.
# The gradient that these layers need is still the one of this section, computed in another order; with Newton's method it is exact once the states have converged.

# %% [markdown]
# ## Summary
#
# - The gradient of a recurrent network is a sum over pairs of steps $(t,i)$, each with a product of $t-i$ Jacobians; sharing weights means summing.
# - Backward, forward (RTRL) and autograd give the same gradient to machine precision; backward stores $T$ states, forward a Jacobian of every unit with respect to every parameter.
# - `detach` every $\tau$ steps keeps the pairs within segments; in our network with short memory its error came mostly from neighbours that the cuts separate, and a window of $\tau$ steps erred far less.
# - Randomized truncation has no bias, and a variance that grows in every step whose squared factor exceeds $\pi$.
# - $\sigma_{\max}<1$ makes gradients vanish; a spectral radius below 1 is sure to do so only in the end, and only where all slopes are 1: with tanh, gradients can grow at a radius of 0 and vanish at a radius above 1.
# - A recurrence that is linear in the state can be computed, forward and backward, in $\lceil\log_2T\rceil$ parallel rounds.

# %% [markdown]
# ## Exercises
#
# ### Exercise 9.7-1
#
# Let $\mathbf{M}$ be diagonalizable with eigenvalues $|\lambda_1|>|\lambda_2|\ge\dots\ge|\lambda_h|$ and eigenvectors $\mathbf{v}_1,\dots,\mathbf{v}_h$.
# What are the eigenvalues of $\mathbf{M}^k$?
# State and prove that $\mathbf{M}^k\mathbf{x}$ aligns with $\mathbf{v}_1$, and find a matrix and a vector for which it does not.

# %% [markdown]
# #### Solution 9.7-1

# %% [markdown]
# Since $\mathbf{M}\mathbf{v}_i=\lambda_i\mathbf{v}_i$, also $\mathbf{M}^k\mathbf{v}_i=\lambda_i^k\mathbf{v}_i$: the eigenvalues of $\mathbf{M}^k$ are $\lambda_i^k$, and the eigenvectors are the same.
# Statement: if $\mathbf{x}=\sum_i\alpha_i\mathbf{v}_i$ with $\alpha_1\ne0$, then $\lambda_1^{-k}\,\mathbf{M}^k\mathbf{x}\to\alpha_1\mathbf{v}_1$, and the distance is at most a constant times $|\lambda_2/\lambda_1|^k$.
# Proof: $\lambda_1^{-k}\,\mathbf{M}^k\mathbf{x}=\alpha_1\mathbf{v}_1+\sum_{i\ge2}\alpha_i(\lambda_i/\lambda_1)^k\mathbf{v}_i$, and $|\lambda_i/\lambda_1|\le|\lambda_2/\lambda_1|<1$.
# If $\mathbf{M}$ is symmetric, the $\mathbf{v}_i$ are orthogonal, and the tangent of the angle to $\mathbf{v}_1$ shrinks by the factor $|\lambda_2/\lambda_1|$ or less in each step, as check C6 found.
# A rotation by 1 radian has two eigenvalues of equal size, and the vectors keep turning.

# %%
rng = torch.Generator().manual_seed(1)
V = torch.randn(5, 5, generator=rng, dtype=torch.float64)
eigenvalues = torch.tensor([-0.9, 0.6, 0.5, -0.3, 0.1], dtype=torch.float64)
M5 = V @ torch.diag(eigenvalues) @ torch.linalg.inv(V)  # not symmetric
power = torch.linalg.matrix_power(M5, 7)
torch.testing.assert_close(torch.linalg.eigvals(power).real.sort().values,
                           (eigenvalues**7).sort().values)
alpha = torch.randn(5, generator=rng, dtype=torch.float64)
gaps = []
for k in range(40):
    y = torch.linalg.matrix_power(M5, k) @ V @ alpha
    gaps.append((y / eigenvalues[0]**k - alpha[0] * V[:, 0]).norm())
second = alpha[1].abs() * V[:, 1].norm()
for k, gap in enumerate(gaps[25:], start=25):  # the second term is left
    assert abs(gap / (second * (0.6 / 0.9)**k) - 1) < 0.05
turn = torch.tensor([[math.cos(1), -math.sin(1)],
                     [math.sin(1), math.cos(1)]])
first = torch.stack([torch.linalg.matrix_power(turn, k)[:, 0]
                     for k in range(100, 107)])
assert first[:, 0].max() > 0.8 and first[:, 0].min() < -0.8

# %% [markdown]
# ### Exercise 9.7-2
#
# How does the memory of full backpropagation through time grow with $T$?
# *Checkpointing* stores only every $k$-th state and recomputes the others, one segment at a time.
# Write it, show that the gradient stays the same, and find the best $k$.

# %% [markdown]
# #### Solution 9.7-2

# %% [markdown]
# The bytes that autograd saves grow linearly.
# With checkpoints, $T/k$ states wait while one segment of $k$ is open; $T/k+k$ is least at $k=\sqrt T$, where it is $2\sqrt T$.
# The price is one more forward pass (Chen and others, 2016).
# Note the difference from truncation: the gradient also crosses the borders of segments.
# In your own models use `torch.utils.checkpoint`, which does this for the parts of a network that you choose.

# %%
def checkpointed_grad(W, task, every):
    """The full gradient of L, and the most states held at a time."""
    Xs, Ys, H, W_hq = task
    kept, most = [], 0
    for i, X in enumerate(Xs):
        if i % every == 0:
            kept.append(H)
        H = step(X, H, W)  # W needs no gradient here: nothing is recorded
    W, back = W.detach().requires_grad_(), torch.zeros_like(H)
    parts = list(zip(Xs.split(every), Ys.split(every)))
    for X_part, Y_part in parts[::-1]:
        most = max(most, len(kept) + len(X_part))
        H = start = kept.pop().detach().requires_grad_()
        loss = 0.0
        for X, Y in zip(X_part, Y_part):
            H = step(X, H, W)
            loss += ((H @ W_hq - Y)**2).sum() / (2 * len(X) * len(Xs))
        (loss + (H * back).sum()).backward()
        back = start.grad
    return W.grad, most


task, W = make_task(1.0, 0.3, T=64)
exact = auto_grad(W, task, torch.ones(64, dtype=torch.float64))
held = {}
for every in (1, 2, 4, 5, 8, 16, 32, 64):
    grad, held[every] = checkpointed_grad(W, task, every)
    assert distance(grad, exact) < 1e-14
print("states held:", held)
assert min(held, key=held.get) == 8 and held[8] == 16 and held[64] == 65

# %%
def saved_bytes(T):
    """Bytes that autograd keeps for the backward pass."""
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    task, W = make_task(1.0, 0.3, T=T)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss_terms(W.requires_grad_().expand(T, -1, -1), task, torch.ones(T))
    return sum(sizes)


b32, b64, b96 = (saved_bytes(T) for T in (32, 64, 96))
print(f"32 steps: {b32:,d} bytes, 64: {b64:,d}, 96: {b96:,d}")
assert b96 - b64 == b64 - b32 and b64 > 1.9 * b32

# %% [markdown]
# ### Exercise 9.7-3
#
# Derive the gradient of a recurrent network with ReLU instead of tanh.
# What does the product of Jacobians look like, and what happens for $\mathbf{W}_{hh}=\mathbf{I}$ and inputs that keep all units active?

# %% [markdown]
# #### Solution 9.7-3

# %% [markdown]
# Only the slope changes: $\mathbf{D}_t=\mathbf{G}_t\odot\mathbf{1}(\mathbf{H}_t>0)$.
# The slope is 1 or 0, so the product is that of the linear network with some paths removed: those through a unit that is silent at some step.
# An active unit does not saturate; if all units are active, growth is that of the powers of $\mathbf{W}_{hh}$, and with the identity the gradient neither grows nor shrinks.
# Le, Jaitly and Hinton (2015) start from this point.

# %%
task, W = tasks["long memory"]
Xs, Ys, H, W_hq = task
shared = W.clone().requires_grad_()
loss = 0.0
for X, Y in zip(Xs, Ys):
    H = rnn_step(X, H, shared[:3], shared[3:-1], shared[-1],
                 phi=torch.relu)
    loss += ((H @ W_hq - Y)**2).sum() / (2 * 4 * T)
loss.backward()
by_hand = backward_grad(W, task, torch.relu, lambda H: (H > 0).double())
assert distance(by_hand, shared.grad) < 1e-14
assert 0.1 < (H == 0).double().mean() < 0.9  # some silent, some not
rng = torch.Generator().manual_seed(979)
norms = state_grad_norms(lambda X, H: torch.relu(X + H @ torch.eye(8)),
                         torch.rand(T, 4, 8, generator=rng) + 0.1,
                         torch.zeros(4, 8))
assert (norms == norms[-1]).all() and norms[-1] > 0

# %% [markdown]
# ### Exercise 9.7-4
#
# Train a language model on batches in which row $r$ continues row $r$ of the batch before, once with a fresh state for every batch and once with the last state, detached.
# Compare the perplexities on held-out text, with fresh states and with a state that runs through.
# Take segments of 8 and of 32 steps, batches of 256 characters in either case, and three seeds; for segments of 8 train also three times as long.

# %% [markdown]
# #### Solution 9.7-4

# %% [markdown]
# The two arms of a setting see the same batches in the same order, with Adam and the learning rate 0.01 (with segments of 8 and one epoch the best of 0.005, 0.01 and 0.02 for both arms).
# Only the state at the start of a batch differs.
# The carried one starts anew with each epoch.

# %%
class Stream(TimeMachine):
    """Training batches whose rows continue those of the batch before."""

    def get_dataloader(self, train):
        if not train:
            return super().get_dataloader(train)
        n, T = self.batch_size, self.num_steps
        batches = self.num_train // (n * T)
        first = (torch.arange(batches)[:, None]
                 + batches * torch.arange(n)) * T  # (batches, n)
        rows = first.flatten()
        return d2l.BatchLoader((self.X[rows], self.Y[rows]), n,
                               shuffle=False)


class StreamLM(RNNLM):
    """`carry`: whether training goes on from the last state."""

    carry = True

    def forward(self, X, state=None):
        if self.training and self.carry:
            batch = self.trainer.train_batch_idx
            new = batch % self.trainer.num_train_batches == 0
            state = None if new else self.state
        outputs, state = self.rnn(self.one_hot(X), state)
        self.state = state.detach()
        return self.output_layer(outputs)

# %%
def held_out(model, X, Y):
    """Perplexity of labels Y for inputs X, (n, T) each, fresh states."""
    model.eval()
    with torch.no_grad():
        scores = model(X)
    return perplexity(-F.cross_entropy(scores.flatten(0, 1), Y.flatten(),
                                       reduction="none"))


arms = {False: "fresh", True: "carried"}
settings = {"8 steps": (8, 1), "8 steps, longer": (8, 3), "32 steps": (32, 1)}
results = {}
for setting, (T_seg, times) in settings.items():
    data = Stream(256 // T_seg, T_seg, stream_size, num_val=32)
    text = data.corpus[stream_size:stream_size + 5121]
    for carry in arms:
        for seed in range(3):
            torch.manual_seed(seed)
            m = len(data.vocab)
            model = StreamLM(RNN(m, 64), m)
            model.carry = carry
            fit_clipped(model, data, times * stream_epochs, seed=seed,
                        optimizer=lambda p: torch.optim.Adam(p, lr=0.01),
                        num_gpus=num_gpus)
            model.cpu()
            for name, width in (("fresh", T_seg), ("running", 5120)):
                results.setdefault((setting, arms[carry], name), []).append(
                    held_out(model, text[:-1].reshape(-1, width),
                             text[1:].reshape(-1, width)))

# %% tags=["hide-input", "rtol=0.05"]
fig, axes = plt.subplots(1, 3, figsize=(6.8, 2.6), sharey=True)
for ax, setting in zip(axes, settings):
    for k, arm in enumerate(("fresh", "carried")):
        for j, name in enumerate(("fresh", "running")):
            ax.plot([j + 0.2 * k - 0.1] * 3, results[setting, arm, name],
                    "os"[k], color=f"C{k}",
                    label=f"trained {arm}" if j == 0 else None)
    ax.set(xlim=(-0.5, 1.5), title=setting)
    ax.set_xticks((0, 1), labels=["fresh", "running"])
axes[0].set_ylabel("held-out perplexity")
axes[1].set_xlabel("state in the evaluation")
axes[0].legend(fontsize=7, loc="lower left")
d2l.describe(fig, """Perplexities, three dots a case. Segments of 8: with
    fresh states both arms lie between 7.6 and 7.9; with a running state
    the carried arm is at 7.0, the fresh one at 7.3 to 7.4. Trained three
    times as long: with fresh states the carried arm is at 7.1 to 7.3, the
    fresh one at 6.9 to 7.0; with a running state at 6.0 and 6.4. Segments
    of 32: with fresh states both between 7.1 and 7.5, with a running state
    between 7.0 and 7.3, the arms close together.""")

# %% [markdown]
# **Figure 9.7.7.** Held-out perplexity by how the model was trained (colour) and how it is evaluated (place).

# %%
full_run = stream_size >= 100_000  # not smoke
real = d2l.fetch("time-machine").source == "real"
mean = {case: sum(values) / 3 for case, values in results.items()}
assert len(set(mean.values())) == len(mean) == 12  # no two cases agree
for case, values in results.items():
    print(*case, *(f"{v:.2f}" for v in values))
if full_run and real and stream_epochs == 1:
    gap = {(setting, name): mean[setting, "fresh", name]
           - mean[setting, "carried", name]
           for setting in settings for name in ("fresh", "running")}
    for setting in ("8 steps", "8 steps, longer"):
        carried, fresh = (results[setting, arm, "running"]
                          for arm in ("carried", "fresh"))
        assert max(carried) < min(fresh) - 0.1
        assert gap[setting, "running"] > 0.2
    assert abs(gap["8 steps", "fresh"]) < gap["8 steps", "running"] / 3
    assert gap["8 steps, longer", "fresh"] < -0.2
    assert gap["32 steps", "running"] < gap["8 steps", "running"] / 2

# %% tags=["hide-input"]
# check: rows continue, the state goes on without gradient, epochs restart
loader = list(data.train_dataloader())
for (X, Y), (X_next, _) in zip(loader, loader[1:]):
    assert torch.equal(Y[:, -1], X_next[:, 0])
seen = torch.cat([X for X, _ in loader], dim=1)  # (n, characters of a row)
assert torch.equal(seen.flatten(), data.corpus[:seen.numel()])
assert stream_size - seen.numel() < 256
assert model.trainer.train_batch_idx == len(loader) * stream_epochs
assert not torch.equal(text[:-1], data.corpus[:5120])
model.train()
X = loader[0][0]
with torch.no_grad():
    model.trainer.train_batch_idx = 2 * len(loader)  # a new epoch
    whole = model(X)
    parts = [model(X[:, :12])]
    model.trainer.train_batch_idx += 1
    parts.append(model(X[:, 12:]))
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    model.carry = False
    assert (model(X[:, 12:]) - parts[1]).abs().max() > 0.01
model(X)
assert not model.state.requires_grad
modes = []
handle = model.rnn.register_forward_hook(lambda *_: modes.append(
    (model.training, torch.is_grad_enabled())))
value = held_out(model, X, loader[0][1])
handle.remove()
assert modes == [(False, False)]
scores = model(X).log_softmax(dim=2)  # (n, T, vocabulary)
picked = scores.gather(2, loader[0][1][:, :, None])
assert abs(value - torch.exp(-picked.double().mean()).item()) < 1e-4

# %% [markdown]
# With segments of 8 steps and a running state the carried arm is better in all three seeds, after the shorter and after the longer training, by more than 0.2 on average.
# The gradient is cut at the same places in both arms, so this does not come from a longer gradient, but from the state.
# Evaluated with fresh states, that advantage is gone; after training three times as long, the carried arm is ahead only with its state and behind without it.
# So a reported perplexity of such a model should say how the state was started.
# With segments of 32 steps and a running state the mean advantage is less than half of that with 8 steps at equal training, and of the size of the differences between seeds; seed by seed, the carried arm is ahead in all three here as well.

# %% [markdown]
# ### Exercise 9.7-5
#
# For which $\rho$ is the gradient 32 steps before the end within a factor of ten of its size at the end?
# Answer for zero states by a formula, and for tanh units driven by inputs of standard deviation 0.1, 0.3 and 1 by measurement.

# %% [markdown]
# #### Solution 9.7-5

# %% [markdown]
# With zero states the factor is $\rho^{32}$, so $\rho$ must lie between $10^{-1/32}\approx0.93$ and $10^{1/32}\approx1.07$.
# With inputs, saturation takes a part of every factor, and a larger $\rho$ has to make up for it.
# The cell below prints the first unbroken run of grid values that qualify, for three seeds.
# The larger the inputs, the larger the first of them; the runs of neighbouring sizes may overlap, but no $\rho$ of the grid serves all four sizes.
# Nor is the answer always an interval: with inputs of 0.3 and 1, in all three seeds, further values beyond the run qualify, with some between that do not.

# %%
def factor_over(rho, size, seed, T=32, h=8, n=4):
    """Gradient norm T steps before the end, relative to the end."""
    rng = torch.Generator().manual_seed(seed)
    Z, Xs = (torch.randn(shape, generator=rng, dtype=torch.float64)
             for shape in ((h, h), (T, n, h)))
    W_hh = rho * torch.linalg.qr(Z).Q
    norms = state_grad_norms(lambda X, H: torch.tanh(size * X + H @ W_hh),
                             Xs, torch.zeros_like(Xs[0]))
    return (norms[0] / norms[-1]).item()


for rho, inside in ((0.93, False), (0.94, True), (1.07, True),
                    (1.08, False)):
    assert (0.1 < factor_over(rho, 0, 0) < 10) == inside
assert abs(factor_over(1.1, 0, 1) / 1.1**32 - 1) < 1e-9
assert len({factor_over(1.1, 1, seed) for seed in range(3)}) == 3
grid = [0.8 + 0.05 * i for i in range(40)]
sizes, runs, good = (0, 0.1, 0.3, 1.0), {}, {}
for size in sizes:
    for seed in range(3):
        inside = [0.1 < factor_over(rho, size, seed) < 10 for rho in grid]
        first = inside.index(True)
        run = inside[first:].index(False)  # its length
        runs.setdefault(size, []).append((grid[first],
                                          grid[first + run - 1]))
        good[size, seed] = inside
        assert size <= 0.1 or sum(inside) > run
    print(f"inputs {size}: rho from",
          *(f"{low:.2f} to {high:.2f}," for low, high in runs[size]))
for small, large in zip(sizes, sizes[1:]):
    assert max(runs[small])[0] < min(runs[large])[0]
for seed in range(3):
    assert not any(map(all, zip(*(good[size, seed] for size in sizes))))

# %% [markdown]
# ## Sources
#
# - R. J. Williams and D. Zipser, *A learning algorithm for continually running fully recurrent neural networks*, Neural Computation 1 (1989), [doi:10.1162/neco.1989.1.2.270](https://doi.org/10.1162/neco.1989.1.2.270): RTRL.
# - P. J. Werbos, *Backpropagation through time: what it does and how to do it*, Proceedings of the IEEE 78 (1990), [doi:10.1109/5.58337](https://doi.org/10.1109/5.58337).
# - A. J. Robinson and F. Fallside, *The utility driven dynamic error propagation network*, Technical Report CUED/F-INFENG/TR.1, Cambridge University Engineering Department, 1987.
# - R. J. Williams and J. Peng, *An efficient gradient-based algorithm for on-line training of recurrent network trajectories*, Neural Computation 2 (1990), [doi:10.1162/neco.1990.2.4.490](https://doi.org/10.1162/neco.1990.2.4.490): truncation.
# - C. Tallec and Y. Ollivier, *Unbiasing truncated backpropagation through time*, 2017, [arXiv:1705.08209](https://arxiv.org/abs/1705.08209).
# - S. Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen*, diploma thesis, Technische Universität München, 1991.
# - Y. Bengio, P. Simard and P. Frasconi, *Learning long-term dependencies with gradient descent is difficult*, IEEE Transactions on Neural Networks 5 (1994), [doi:10.1109/72.279181](https://doi.org/10.1109/72.279181).
# - R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013, [arXiv:1211.5063](https://arxiv.org/abs/1211.5063).
# - K. Irie, A. Gopalakrishnan and J. Schmidhuber, *Exploring the promise and limits of real-time recurrent learning*, 2023, [arXiv:2305.19044](https://arxiv.org/abs/2305.19044).
# - P. M. Kogge and H. S. Stone, *A parallel algorithm for the efficient solution of a general class of recurrence equations*, IEEE Transactions on Computers C-22 (1973), [doi:10.1109/TC.1973.5009159](https://doi.org/10.1109/TC.1973.5009159).
# - G. E. Blelloch, *Prefix sums and their applications*, Technical Report CMU-CS-90-190, Carnegie Mellon University, 1990.
# - A. Gu and T. Dao, *Mamba: linear-time sequence modeling with selective state spaces*, 2023, [arXiv:2312.00752](https://arxiv.org/abs/2312.00752).
# - L. Feng et al., *Were RNNs all we needed?*, 2024, [arXiv:2410.01201](https://arxiv.org/abs/2410.01201): minGRU.
# - Y. H. Lim, Q. Zhu, J. Selfridge and M. F. Kasim, *Parallelizing non-linear sequential models over the sequence length*, 2023, [arXiv:2309.12252](https://arxiv.org/abs/2309.12252).
# - F. Danieli et al., *ParaRNN: unlocking parallel training of nonlinear RNNs for large language models*, 2025, [arXiv:2510.21450](https://arxiv.org/abs/2510.21450).
# - T. Chen, B. Xu, C. Zhang and C. Guestrin, *Training deep nets with sublinear memory cost*, 2016, [arXiv:1604.06174](https://arxiv.org/abs/1604.06174).
# - Q. V. Le, N. Jaitly and G. E. Hinton, *A simple way to initialize recurrent networks of rectified linear units*, 2015, [arXiv:1504.00941](https://arxiv.org/abs/1504.00941).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the order of topics.
