"""Chapter 12, Optimization algorithms: what its sections teach and later ones use.

Generated from book/12-optimization/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import copy
import d2l_helpers as d2l
import math
import matplotlib.pyplot as plt
import time
import torch
from d2l_helpers.chapters.linear_regression import DataModule


# 12.1 Optimization and deep learning
def hessian_eigs(f, x):
    """Eigenvalues (d,) of the Hessian of f at x (d,), the smallest first.

    `f` maps a tensor (d,) to a number.
    """
    return torch.linalg.eigvalsh(torch.func.hessian(f)(x))


# 12.2 Convexity
def project_l2(x, radius):
    """The nearest point to x (d,) with Euclidean norm at most `radius`."""
    return x * (radius / x.norm()).clamp(max=1) if radius > 0 else 0 * x


# 12.2 Convexity
def project_l1(x, radius):
    """The nearest point to x (d,) with sum of magnitudes at most `radius`.

    It moves all coordinates towards 0 by one amount, but not past 0.
    """
    sizes = x.abs()
    ordered = sizes.sort(descending=True).values
    counts = torch.arange(1, len(x) + 1, device=x.device)
    amount = ((ordered.cumsum(0) - radius) / counts).max().clamp(min=0)
    return x.sign() * (sizes - amount).clamp(min=0)


# 12.3 Gradient descent
def gd(grad, x0, eta, steps):
    """The path (steps + 1, ...) of x <- x - eta grad(x) from x0.

    Computed in double precision; `grad` maps a point to its gradient.
    """
    path = [torch.as_tensor(x0, dtype=torch.float64)]
    for _ in range(steps):
        path.append(path[-1] - eta * grad(path[-1]))
    return torch.stack(path)


# 12.3 Gradient descent
def train_2d(step, x0=(-5.0, -2.0), steps=20):
    """The path (steps + 1, 2) of a point x (2,) that `step(x)` moves.

    `step` changes its argument in place.
    """
    x = torch.tensor(x0, dtype=torch.float64)
    path = [x.clone()]
    for _ in range(steps):
        step(x)
        path.append(x.clone())
    return torch.stack(path)


def show_trace_2d(f, paths, ax=None, x1=(-5.5, 1.0), x2=(-3.0, 1.0)):
    """Contours of f and paths on them; `paths` maps a label to (n, 2).

    Draws on `ax`, or on a new one, and returns it.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4, 3))
    grid = torch.meshgrid(torch.linspace(*x1, 101), torch.linspace(*x2, 101),
                          indexing="xy")
    ax.contour(*grid, torch.func.vmap(torch.func.vmap(f))(
        torch.stack(grid, dim=-1)), colors="#888888", linewidths=0.7)
    for label, path in paths.items():
        ax.plot(*path.T, "o-", ms=3, label=label)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=x1, ylim=x2)
    return ax


# 12.3 Gradient descent
def sharpness(loss, params, iters=20, generator=None):
    """The Hessian's eigenvalue of largest magnitude, by power iteration.

    It takes `iters` products; the magnitude is approached from below.

    `loss()` gives a number that depends on `params`, a list of tensors
    with gradients. The Hessian is never built, only its products.
    """
    grads = torch.autograd.grad(loss(), params, create_graph=True)
    v = [torch.randn(p.shape, dtype=p.dtype, generator=generator).to(p.device)
         for p in params]
    for _ in range(iters):
        norm = torch.sqrt(sum((part ** 2).sum() for part in v))
        v = [part / norm for part in v]
        product = torch.autograd.grad(grads, params, v, retain_graph=True)
        value = sum((a * b).sum() for a, b in zip(v, product))
        v = product
    return value.item()


# 12.4 Stochastic gradient descent
def stationary_variance(eta, curvature, sigma=1.0):
    """The variance at which SGD with a constant step stays.

    The loss is `curvature` x^2 / 2, the gradient has noise of standard
    deviation `sigma`. Infinite where the step is too large.
    """
    if not 0 < eta * curvature < 2:
        return float("inf")
    return eta * sigma**2 / (curvature * (2 - eta * curvature))


# 12.5 Minibatch stochastic gradient descent
class Airfoil(DataModule):
    """The airfoil data: X (n, 5) standardized, y (n, 1) standardized.

    Columns stay correlated. All rows set the scale; the first n are used.
    `source` is "real" or "standin".
    """

    def __init__(self, batch_size=10, n=1500):
        super().__init__()
        self.save_hyperparameters()
        found = d2l.fetch("airfoil")
        text = found.files["airfoil_self_noise.dat"].read_text()
        data = torch.tensor([[float(v) for v in line.split()]
                             for line in text.splitlines() if line.strip()],
                            dtype=torch.float64)
        data = (data - data.mean(dim=0)) / data.std(dim=0, correction=0)
        self.source = found.source
        self.X, self.y = data[:n, :-1], data[:n, -1:]

    def get_dataloader(self, train):
        """The rows, shuffled; there is no validation part."""
        return self.get_tensorloader((self.X, self.y), True) if train else None


# 12.5 Minibatch stochastic gradient descent
def sgd(params, grads, state, hyper):
    """One step of gradient descent, in place; `hyper` has "lr"."""
    for p, g in zip(params, grads, strict=True):
        p -= hyper["lr"] * g


def on(f, optimizer, **hyper):
    """A step for `train_2d`: `optimizer` on f, with a state of its own."""
    state = {}

    def step(x):
        optimizer([x], [torch.func.grad(f)(x)], state, hyper)
    return step


# 12.5 Minibatch stochastic gradient descent
def train_opt(step, hyper, data, epochs, seed=0):
    """Train a linear model with bias on minibatches, by any optimizer.

    `step(params, grads, state, hyper)` changes the parameters in place.
    Returns the seconds that training took up to each epoch's end and the
    losses (half the mean square, over all rows) before the first epoch and
    after each, two lists of epochs + 1. The weights start as N(0, 0.01^2)
    and the batches are shuffled, both from `seed`.
    """
    rng = torch.Generator().manual_seed(seed)
    X, y, b = data.X, data.y, data.batch_size
    params = [0.01 * torch.randn(X.shape[1], 1, generator=rng,
                                 dtype=X.dtype), torch.zeros(1, dtype=X.dtype)]
    state, seconds = {}, [0.0]
    losses = [0.5 * (X @ params[0] + params[1] - y).square().mean().item()]
    for _ in range(epochs):
        start = time.perf_counter()
        for i in torch.randperm(len(X), generator=rng).split(b):
            error = X[i] @ params[0] + params[1] - y[i]
            step(params, [X[i].T @ error / len(i), error.mean(dim=0)],
                 state, hyper)
        seconds.append(seconds[-1] + time.perf_counter() - start)
        losses.append(
            0.5 * (X @ params[0] + params[1] - y).square().mean().item())
    return seconds, losses


# 12.6 Momentum
def momentum(params, grads, state, hyper):
    """One step of heavy-ball momentum, in place; "lr" and "beta"."""
    velocity = state.setdefault("v", [torch.zeros_like(p) for p in params])
    for p, g, v in zip(params, grads, velocity, strict=True):
        v.mul_(hyper["beta"]).add_(g)
        p -= hyper["lr"] * v


# 12.6 Momentum
def nesterov(params, grads, state, hyper):
    """One step of Nesterov's variant, in PyTorch's form, in place."""
    velocity = state.setdefault("v", [torch.zeros_like(p) for p in params])
    for p, g, v in zip(params, grads, velocity, strict=True):
        v.mul_(hyper["beta"]).add_(g)
        p -= hyper["lr"] * (g + hyper["beta"] * v)


# 12.7 Adagrad
def adagrad(params, grads, state, hyper):
    """One step of Adagrad, in place; "lr" and "eps" (default 1e-10)."""
    squares = state.setdefault("s", [torch.zeros_like(p) for p in params])
    for p, g, s in zip(params, grads, squares, strict=True):
        s += g**2
        p -= hyper["lr"] * g / (s.sqrt() + hyper.get("eps", 1e-10))


# 12.8 RMSProp
def rmsprop(params, grads, state, hyper):
    """One step of RMSProp, in place; "lr", "gamma", "eps" (1e-8)."""
    squares = state.setdefault("s", [torch.zeros_like(p) for p in params])
    for p, g, s in zip(params, grads, squares, strict=True):
        s.mul_(hyper["gamma"]).add_((1 - hyper["gamma"]) * g**2)
        p -= hyper["lr"] * g / (s.sqrt() + hyper.get("eps", 1e-8))


# 12.10 Adam
def adam(params, grads, state, hyper):
    """One step of Adam, in place.

    `hyper` has "lr" and may have "betas" (0.9, 0.999), "eps" (1e-8).
    """
    beta1, beta2 = hyper.get("betas", (0.9, 0.999))
    eps = hyper.get("eps", 1e-8)
    means = state.setdefault("v", [torch.zeros_like(p) for p in params])
    squares = state.setdefault("s", [torch.zeros_like(p) for p in params])
    t = state["t"] = state.get("t", 0) + 1
    for p, g, v, s in zip(params, grads, means, squares, strict=True):
        v.mul_(beta1).add_((1 - beta1) * g)
        s.mul_(beta2).add_((1 - beta2) * g**2)
        unbiased = v / (1 - beta1**t)
        p -= hyper["lr"] * unbiased / ((s / (1 - beta2**t)).sqrt() + eps)


# 12.10 Adam
def adamw(params, grads, state, hyper):
    """One step of Adam with decoupled decay, "weight_decay", in place."""
    for p in params:
        p *= 1 - hyper["lr"] * hyper.get("weight_decay", 0.01)
    adam(params, grads, state, hyper)


# 12.11 Learning rate scheduling
class Cosine:
    """A learning rate for each step: warm-up, half a cosine, constant.

    It rises linearly from `warmup_begin_lr` to `base_lr` in `warmup_steps`
    steps, falls to `final_lr` at step `max_update`, and stays there.
    """

    def __init__(self, max_update, base_lr=0.01, final_lr=0.0,
                 warmup_steps=0, warmup_begin_lr=0.0):
        if not 0 <= warmup_steps < max_update:
            raise ValueError(f"warmup_steps is {warmup_steps}; it must lie "
                             f"between 0 and max_update - 1.")
        self.max_update, self.warmup_steps = max_update, warmup_steps
        self.base_lr, self.final_lr = base_lr, final_lr
        self.warmup_begin_lr = warmup_begin_lr

    def __call__(self, step):
        if step < self.warmup_steps:
            return self.warmup_begin_lr + (
                self.base_lr - self.warmup_begin_lr) * step / self.warmup_steps
        done = min(1, (step - self.warmup_steps)
                   / (self.max_update - self.warmup_steps))
        return self.final_lr + 0.5 * (self.base_lr - self.final_lr) * (
            1 + math.cos(math.pi * done))


# 12.11 Learning rate scheduling
def train_scheduled(model, loss, batches, optimizer, schedule, epochs,
                    after=None):
    """Train, with the learning rate `schedule(step)` set before each step.

    `batches()` gives the batches of an epoch, `loss(model, batch)` a
    number; `after(model)` is called after each step. The rate of a group
    is multiplied by its "lr_scale", if it has one. Returns the rates
    used and the losses, one of each per step.
    """
    rates, losses = [], []
    for _ in range(epochs):
        for batch in batches():
            rates.append(schedule(len(rates)))
            for group in optimizer.param_groups:
                group["lr"] = rates[-1] * group.get("lr_scale", 1)
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            optimizer.step()
            losses.append(value.detach())
            if after is not None:
                after(model)
    return rates, torch.stack(losses).tolist()


# 12.11 Learning rate scheduling
class EMA:
    """An exponential moving average of a model's parameters and buffers.

    Call `update(model)` after each step; `model` of this object is the
    averaged copy, in evaluation mode. Buffers are copied, not averaged.
    """

    def __init__(self, model, decay=0.99):
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for mean, p in zip(self.model.parameters(), model.parameters(),
                           strict=True):
            mean.lerp_(p, 1 - self.decay)
        for kept, b in zip(self.model.buffers(), model.buffers(),
                           strict=True):
            kept.copy_(b)
