# ---
# jupyter:
#   d2l:
#     data: [airfoil]
#     profiles:
#       gpu:
#         chains: 200000
#         num_seeds: 5
#       smoke:
#         chains: 500
#         num_seeds: 1
#     rehearsal:
#       chains: 0.1
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
# # 12.6 Momentum
#
# In a long, narrow valley gradient descent is slow along the floor, and a larger rate makes it bounce off the walls.
# Momentum remembers past gradients: those along the floor add up, those across it cancel.
# It is one line of code with two numbers, the rate and the memory; we derive what they do on quadratics, and then ask where the gain ends.
#
# **You will**
#
# - derive when momentum converges on a quadratic, how fast, and the best choice of its two parameters;
# - see the same choice fail on another convex function, and prove a rate of Nesterov's variant for all smooth convex functions;
# - match PyTorch's `SGD` step by step, with momentum, dampening, Nesterov's form and weight decay;
# - measure what gradient noise leaves of the gain.
#
# **Cost**: about twenty seconds on a CPU, no use of a GPU, a download of 58 kB.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.optimization import (
    Airfoil, gd, on, sgd, show_trace_2d, stationary_variance, train_2d,
    train_opt)

d2l.use_style()

# %% tags=["parameters"]
chains = 20_000  # side by side, to measure a variance
num_seeds = 5

# %% [markdown]
# ## A ball in a canyon
#
# The function $f(\mathbf{x})=0.1x_1^2+2x_2^2$ has curvature 0.2 along the first axis and 4 along the second, hence the condition number $\kappa=20$.
# By [Section 12.3](03-gradient-descent.ipynb), gradient descent diverges for rates above $2/4$, and with any smaller rate it crawls along the first axis.
#
# *Momentum* replaces the gradient by a sum over its past,
#
# $$\mathbf{v}_t=\beta\mathbf{v}_{t-1}+\mathbf{g}_t=\sum_{\tau=0}^{t-1}\beta^\tau\mathbf{g}_{t-\tau},\qquad\mathbf{x}_t=\mathbf{x}_{t-1}-\eta\mathbf{v}_t, \tag{12.6.1}$$
#
# with the gradient $\mathbf{g}_t=\nabla f(\mathbf{x}_{t-1})\in\mathbb{R}^d$, the velocity $\mathbf{v}_t\in\mathbb{R}^d$ that starts at $\mathbf{0}$, and $0\le\beta<1$.
# The method is Polyak's (1964); it is also called the *heavy-ball method*, after a ball that rolls downhill with friction.
# If the gradient stays the same, the weights add up to $1+\beta+\beta^2+\dots=\frac1{1-\beta}$, and each step has length $\frac{\eta}{1-\beta}\|\mathbf{g}\|$: we call $\frac\eta{1-\beta}$ the *effective rate*.
# For $\beta=0.9$ it is ten times $\eta$.
# If the gradient changes its sign at each step, the weights are $1-\beta+\beta^2-\dots=\frac1{1+\beta}$, and the step is shortened.

# %% tags=["export"]
def momentum(params, grads, state, hyper):
    """One step of heavy-ball momentum, in place; "lr" and "beta"."""
    velocity = state.setdefault("v", [torch.zeros_like(p) for p in params])
    for p, g, v in zip(params, grads, velocity, strict=True):
        v.mul_(hyper["beta"]).add_(g)
        p -= hyper["lr"] * v

# %%
# check 12.6-C1: where 20 steps from (-5, -2) end
def canyon(x):
    """0.1 x1^2 + 2 x2^2 for x (2,): a narrow valley."""
    return 0.1 * x[0] ** 2 + 2 * x[1] ** 2


expected = {(0.4, 0.0): (-0.943467, -7.3123e-5),
            (0.6, 0.0): (-0.387814, -1673.365),
            (0.6, 0.5): (0.0071879, 0.0025533),
            (0.6, 0.25): (-0.1263396, -0.1866322)}
paths = {key: train_2d(on(canyon, momentum, lr=key[0], beta=key[1]))
         for key in expected}
for key, end in expected.items():
    torch.testing.assert_close(paths[key][-1], torch.tensor(
        end, dtype=torch.float64), rtol=2e-6, atol=1e-7)
for eta in (0.4, 0.6):  # without memory it is gradient descent
    torch.testing.assert_close(paths[eta, 0], train_2d(on(canyon, sgd,
                                                          lr=eta)))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(10, 2.4), layout="constrained",
                         sharey=True)
for ax, ((eta, beta), path) in zip(axes, paths.items(), strict=True):
    show_trace_2d(canyon, {"": path}, ax, x2=(-3.0, 3.0))
    ax.set_title(rf"$\eta={eta}$, $\beta={beta}$", fontsize=9)
    ax.label_outer()
d2l.describe(fig, """Four paths in an elongated valley. Rate 0.4 without
    momentum creeps along the floor, rate 0.6 leaves the picture; with
    momentum 0.5 and 0.25 the same rate reaches the centre.""")

# %% [markdown]
# **Figure 12.6.1.** Twenty steps from $(-5,-2)$.
# The rate 0.6 diverges without momentum; $\beta=0.25$ just repairs it, and with $\beta=0.5$ it is also faster along the floor than 0.4 was.

# %% tags=["hide-input"]
def draw(fig, rate, beta, steps):
    path = train_2d(on(canyon, momentum, lr=rate, beta=beta),
                    steps=int(steps))
    ax = show_trace_2d(canyon, {"": path}, fig.subplots(), (-6, 4), (-3, 3))
    ax.set_title(rf"$\eta={rate}$, $\beta={beta}$, steps: {int(steps)}",
                 fontsize=9)


d2l.sliders(draw, """The contours of a narrow valley with the path of
    momentum from the lower left; with much momentum it overshoots the
    centre and swings back.""", figsize=(3.6, 2.3), rate=[0.1, 0.6],
            beta=[0, 0.25, 0.5, 0.9], steps=[8, 40])

# %% [markdown]
# **Figure 12.6.2.** Try $\beta=0.9$: the ball overshoots and swings around the minimum.
# More memory is not always better.

# %% [markdown]
# ## Quadratics fall apart
#
# Near a minimum with a positive definite Hessian, a smooth function looks like a quadratic.
# Let $\mathbf{Q}\in\mathbb{R}^{d\times d}$ be symmetric and positive definite, $\mathbf{c}\in\mathbb{R}^d$, $b\in\mathbb{R}$.
# Completing the square gives
#
# $$h(\mathbf{x})=\tfrac12\mathbf{x}^\top\mathbf{Q}\mathbf{x}+\mathbf{x}^\top\mathbf{c}+b=\tfrac12(\mathbf{x}-\mathbf{x}^*)^\top\mathbf{Q}(\mathbf{x}-\mathbf{x}^*)+b-\tfrac12\mathbf{c}^\top\mathbf{Q}^{-1}\mathbf{c}, \tag{12.6.2}$$
#
# with the minimizer $\mathbf{x}^*=-\mathbf{Q}^{-1}\mathbf{c}$ (Exercise 3).
# Write $\mathbf{Q}=\mathbf{O}^\top\boldsymbol\Lambda\mathbf{O}$ with an orthogonal $\mathbf{O}$ and the eigenvalues $\lambda_i$ on the diagonal of $\boldsymbol\Lambda$.
# In the coordinates $\mathbf{z}=\mathbf{O}(\mathbf{x}-\mathbf{x}^*)$ the gradient is $\boldsymbol\Lambda\mathbf{z}$.
# Momentum only adds and scales vectors, so it runs on each $z_i$ separately, with curvature $\lambda_i$.
# A single coordinate $x$ with gradient $\lambda x$ is all we need to understand:
#
# $$\begin{pmatrix}v_t\\ x_t\end{pmatrix}=\mathbf{R}\begin{pmatrix}v_{t-1}\\ x_{t-1}\end{pmatrix},\qquad\mathbf{R}=\begin{pmatrix}\beta&\lambda\\-\eta\beta&1-\eta\lambda\end{pmatrix}. \tag{12.6.3}$$

# %%
def R(beta, eta, lam):
    """The matrix (..., 2, 2) of one step on (v, x), in double precision."""
    beta, eta, lam = torch.broadcast_tensors(*(
        torch.as_tensor(a, dtype=torch.float64) for a in (beta, eta, lam)))
    entries = [beta, lam, -eta * beta, 1 - eta * lam]
    return torch.stack(entries, dim=-1).unflatten(-1, (2, 2))


def radius(beta, eta, lam):
    """Largest magnitude of an eigenvalue of R."""
    return torch.linalg.eigvals(R(beta, eta, lam)).abs().amax(dim=-1)

# %%
rng = torch.Generator().manual_seed(6)
A = torch.randn(3, 3, generator=rng, dtype=torch.float64)
Q, c = A.T @ A + torch.eye(3), torch.randn(3, generator=rng).double()


def h(x):
    """A quadratic whose axes are not those of x (3,)."""
    return 0.5 * x @ Q @ x + x @ c + 7


path = train_2d(on(h, momentum, lr=0.2, beta=0.8), (1.0, 2.0, 3.0), 30)
lam, O = torch.linalg.eigh(Q)
z = (path + torch.linalg.solve(Q, c)) @ O  # O has the eigenvectors as columns
for t in range(31):
    power = torch.linalg.matrix_power(R(0.8, 0.2, lam), t)  # (3, 2, 2)
    torch.testing.assert_close(z[t], power[:, 1, 1] * z[0])
assert z[-1].norm() < 0.1 * z[0].norm() and lam[-1] > 2 * lam[0]

# %% [markdown]
# The powers of three 2x2 matrices reproduce the path in three dimensions.
#
# ## The map of momentum
#
# Whether the powers of $\mathbf{R}$ shrink depends on its eigenvalues $\rho$, the roots of
#
# $$p(\rho)=\rho^2-(1+\beta-\eta\lambda)\rho+\beta. \tag{12.6.4}$$
#
# The last term is $\det\mathbf{R}=\beta$, so the product of the two roots is $\beta$ whatever the rate.
# Only the product $\eta\lambda$ and $\beta$ matter.
#
# **Complex.** The discriminant is negative for $(1-\sqrt\beta)^2<\eta\lambda<(1+\sqrt\beta)^2$.
# The roots are then conjugate, and with the product $\beta$ both have modulus $\sqrt\beta$: the coordinate oscillates and shrinks by the factor $\sqrt\beta$ per step whatever its curvature.
#
# **Real.** Both roots lie in $(-1,1)$ if and only if $p(1)=\eta\lambda>0$, $p(-1)=2+2\beta-\eta\lambda>0$ and $|\beta|<1$.
# The method is stable for
#
# $$0<\eta\lambda<2+2\beta. \tag{12.6.5}$$
#
# Momentum raises the limit from 2 to nearly 4.
# In the canyon, $\eta=0.6$ has $\eta L=2.4$: too much for gradient descent, just below $2.5$ for $\beta=0.25$.
#
# ![The complex plane with the unit circle and a smaller circle. With growing rate the two roots start at 1 and at beta on the real axis, meet at the square root of beta, run along the small circle to minus the square root of beta, meet again, and separate; one leaves the unit circle at minus 1.](img/momentum-roots.svg)
#
# **Figure 12.6.3.** The two roots for $\beta=0.5$ as $\eta\lambda$ grows from 0 (open circles).
# On the small circle, of radius $\sqrt\beta$, the rate changes the frequency of the oscillation and not how fast it dies down.
#
# For a given curvature and rate the spectral radius is smallest where the two real roots have just met:
# at *critical damping*, $\beta=(1-\sqrt{\eta\lambda})^2$.
# With less memory one real root is larger, and the point creeps (for $\eta\lambda>1$ the root is negative, and it bounces); with more, $\sqrt\beta$ is larger, and it swings.
# For $\eta\lambda=0.04$ this is $\beta=0.8^2=0.64$.

# %%
def spectral_radius_map(betas, etalams):
    """Spectral radius of R, shape (betas, etalams)."""
    return radius(betas[:, None], 1.0, etalams)


betas = torch.linspace(0, 1, 201, dtype=torch.float64)
etalams = torch.linspace(0.01, 4, 400, dtype=torch.float64)
rho = spectral_radius_map(betas, etalams)

# %%
# check 12.6-C2: sqrt(beta) where complex, 1 at 2 + 2 beta, best when critical
B, E = betas[:, None], etalams
inside = (1 - B.sqrt())**2 + 1e-6 < E
inside = inside & (E < (1 + B.sqrt())**2 - 1e-6)
assert 0.4 < inside.double().mean() < 0.8
torch.testing.assert_close(rho[inside], B.sqrt().expand_as(rho)[inside])
stable = (E < 2 + 2 * B - 1e-9) & (B < 1)
assert (rho[stable] < 1).all() and (rho[E > 2 + 2 * B + 1e-9] > 1).all()
for beta in (0.0, 0.5, 0.9):
    edge = 2 + 2 * beta
    assert abs(radius(beta, 0.5, edge / 0.5) - 1) < 1e-12
    assert radius(beta, 0.5, 1.001 * edge / 0.5) > 1
    assert radius(beta, 0.5, 0.999 * edge / 0.5) < 1
critical = (1 - etalams.sqrt())**2
assert (betas[rho.argmin(dim=0)] - critical).abs().max() <= 0.005

# %%
damped = {beta: [torch.linalg.matrix_power(R(beta, 0.04, 1), t)[1, 1].item()
                 for t in range(61)] for beta in (0.3, 0.64, 0.9)}
assert min(damped[0.3]) > 0 < min(damped[0.64])  # no swing
assert abs(min(damped[0.9]) + 0.4364) < 1e-4
late = {beta: max(abs(x) for x in path[45:]) for beta, path in damped.items()}
assert late[0.64] < 0.02 * min(late[0.3], late[0.9])

# %% tags=["hide-input"]
fig, (ax, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained",
                                width_ratios=[1.2, 1])
image = ax.pcolormesh(etalams[::8], betas[::4], rho[::4, ::8].clamp(max=1.2),
                      cmap="cividis", vmin=0, vmax=1.2, shading="nearest",
                      rasterized=True)
fig.colorbar(image, ax=ax, label="spectral radius")
fine = torch.linspace(0, 1, 101)
ax.plot((1 - fine.sqrt())**2, fine, "w--", lw=1)
ax.plot((1 + fine.sqrt())**2, fine, "w--", lw=1)
ax.plot(2 + 2 * fine, fine, "w-", lw=1.5)
ax.text(1.2, 0.6, "complex", color="w", ha="center")
ax.text(3.2, 0.2, "unstable", color="k", ha="center")
ax.set(xlabel=r"$\eta\lambda$", ylabel=r"$\beta$", xlim=(0.01, 4),
       ylim=(0, 1))
for style, (beta, path) in zip(("--", "-", ":"), damped.items()):
    right.plot(path, style, label=rf"$\beta={beta}$")
right.set(xlabel="step", ylabel="$x_t$", title=r"$\eta\lambda=0.04$")
right.legend(fontsize=8)
d2l.describe(fig, """Left, a map over rate times curvature and momentum:
    between two dashed curves that start at 1 the colour depends on momentum
    alone; right of a solid line from 2 to 4 the radius exceeds 1. Right,
    three paths from 1: 0.3 creeps, 0.64 arrives soonest, 0.9 swings.""")

# %% [markdown]
# **Figure 12.6.4.** Left: the spectral radius.
# Dashed: where the roots become complex, which is critical damping; solid: the limit $2+2\beta$.
# All curvatures of a problem lie on one horizontal segment of this map, from $\eta\mu$ to $\eta L$.
# Right: one curvature with too little memory, critical damping at $\beta=0.64$, and too much.

# %% [markdown]
# ## The best rate and momentum
#
# A quadratic with curvatures between $\mu$ and $L$ should have its whole segment between the dashed curves, and $\beta$ as small as that allows.
# Then the ends touch: $(1-\sqrt\beta)^2=\eta\mu$ and $(1+\sqrt\beta)^2=\eta L$.
# Adding and dividing the square roots of these two equations gives Polyak's optimum,
#
# $$\eta=\frac4{(\sqrt L+\sqrt\mu)^2},\qquad\sqrt\beta=\frac{\sqrt\kappa-1}{\sqrt\kappa+1}. \tag{12.6.6}$$
#
# No other choice has a smaller factor.
# If all roots have modulus at most $r<1$, then $\beta\le r^2$, and $p(r)\ge0$ and $p(-r)\ge0$ say that $(1-r)(r-\beta)\le r\eta\lambda\le(1+r)(r+\beta)$.
# Divide the second at $\lambda=L$ by the first at $\lambda=\mu$: $\kappa\le\frac{(1+r)(r+\beta)}{(1-r)(r-\beta)}$, which is largest for $\beta=r^2$; so $\kappa\le\big(\frac{1+r}{1-r}\big)^2$, and this is $r\ge\frac{\sqrt\kappa-1}{\sqrt\kappa+1}$.
#
# Gradient descent at its best has $\frac{\kappa-1}{\kappa+1}$: momentum replaces $\kappa$ by $\sqrt\kappa$.
# In the canyon that is 0.63 instead of 0.90 per step.

# %%
# check 12.6-C3: the optimum of the canyon, and no better one on a grid
def polyak(mu, L):
    """Best rate and momentum for curvatures from mu to L."""
    root = (math.sqrt(L) - math.sqrt(mu)) / (math.sqrt(L) + math.sqrt(mu))
    return 4 / (math.sqrt(L) + math.sqrt(mu)) ** 2, root**2


eta, beta = polyak(0.2, 4)
assert abs(eta - 0.667907) < 5e-7 and abs(beta - 0.402605) < 5e-7
ends = torch.tensor([0.2, 4], dtype=torch.float64)
assert (radius(beta, eta, ends) - 0.634512).abs().max() < 1e-6
assert abs(radius(0, 2 / 4.2, ends).max() - 0.904762) < 1e-6
grid = torch.linspace(0, 0.99, 100)[:, None, None]
rates = torch.linspace(0.01, 1, 100)[:, None]
worst = radius(grid, rates, ends).amax(dim=-1)  # (betas, rates)
assert 0.634512 < worst.min() < 0.65
assert polyak(1, 1000)[1] < 0.9 < polyak(1, 2000)[1]

# %% [markdown]
# ### The price: a transient
#
# $\sqrt\beta$ is the factor in the long run.
# At the two ends the roots of (12.6.4) coincide, and $\mathbf{R}$ has only one eigenvector up to scale: it is similar to a Jordan block, whose powers carry a factor $t$.
# With $r=\sqrt\beta$ the powers from $v_0=0$ are
#
# $$x_t=\big(1+(1-r)t\big)\,r^t\,x_0\ \ (\lambda=\mu),\qquad x_t=\big(1+(1+r)t\big)(-r)^t\,x_0\ \ (\lambda=L). \tag{12.6.7}$$
#
# For large $\kappa$ the second one first grows, nearly as $1+2t$, before the exponential wins.

# %%
def run(optimizer, grad, x0, steps, **hyper):
    """The path (steps + 1, ...) of an optimizer with gradient `grad(x)`."""
    state = {}

    def step(x):
        optimizer([x], [grad(x)], state, hyper)
    return train_2d(step, x0, steps)


def curved(lam):
    """The gradient of the sum of lam x^2 / 2."""
    lam = torch.tensor(lam, dtype=torch.float64)
    return lambda x: lam * x


errors, bare, exact, plain = {}, {}, {}, {}
for kappa, steps in ((10, 40), (100, 130), (1000, 400)):
    eta, beta = polyak(1, kappa)
    r, t = math.sqrt(beta), torch.arange(steps + 1, dtype=torch.float64)
    gradient = curved([1.0, kappa])
    errors[kappa] = run(momentum, gradient, (1.0, 1.0), steps, lr=eta,
                        beta=beta).norm(dim=1)
    exact[kappa] = r**t * torch.hypot(1 + (1 - r) * t, 1 + (1 + r) * t)
    bare[kappa] = 2**0.5 * r**t
    plain[kappa] = gd(gradient, (1.0, 1.0), 2 / (1 + kappa), steps).norm(dim=1)

# %%
# check: the exact formula, the height of the transient, gradient descent
for kappa, r in ((10, 0.519494), (100, 9 / 11), (1000, 0.938694)):
    t = torch.arange(len(plain[kappa]), dtype=torch.float64)
    torch.testing.assert_close(errors[kappa], exact[kappa], rtol=1e-5,
                               atol=1e-12)
    assert abs(bare[kappa][-1] / bare[kappa][-2] - r) < 1e-6
    torch.testing.assert_close(plain[kappa], 2**0.5 * (
        (kappa - 1) / (kappa + 1)) ** t)
peaks = {kappa: (e.max() / e[0]).item() for kappa, e in errors.items()}
print(", ".join(f"kappa {k}: {peak:.1f}" for k, peak in peaks.items()))
assert 1.05 < peaks[10] < 1.3 and 7 < peaks[1000] < 9
assert 2.5 < peaks[1000] / peaks[100] < 10**0.5

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for i, kappa in enumerate(errors):
    t = torch.arange(len(errors[kappa]))
    some = slice(None, None, max(1, len(t) // 40))
    ax.plot(t, exact[kappa], color=f"C{i}", lw=1)
    ax.plot(t[some], errors[kappa][some], "osv"[i], color=f"C{i}", ms=3,
            label=rf"$\kappa={kappa}$")
    ax.plot(t, bare[kappa], "--", color=f"C{i}", lw=0.8)
    ax.plot(t, plain[kappa], ":", color=f"C{i}", lw=1.2)
ax.set(xlabel="step", ylabel="distance to the minimum", yscale="log",
       ylim=(1e-9, 30))
ax.legend(fontsize=8)
d2l.describe(ax, """Distance against steps, logarithmic, for three condition
    numbers. Markers lie on solid curves that first rise, then fall parallel
    to dashed lines; the dotted lines of gradient descent fall much
    slower.""")

# %% [markdown]
# **Figure 12.6.5.** Curvatures 1 and $\kappa$ from $(1,1)$.
# Markers: measured; solid: (12.6.7); dashed: $\sqrt\beta^{\,t}$ alone; dotted: gradient descent at its best rate.
# The dotted line of $\kappa=10$ is hidden under the dashed one of $\kappa=100$: each step multiplies both by $\frac9{11}$, since $\sqrt{100}=10$.
#
# Measured errors lie on the exact curve, well above the bare rate: for $\kappa=1000$ the distance first grows about eightfold.
# The height of the peak grows like $\sqrt\kappa$ for large $\kappa$.
# So the steps really needed mostly exceed the count from $\sqrt\beta$ (Exercise 1), and they are still far fewer than without momentum.

# %% [markdown]
# ## Outside quadratics the optimum can fail
#
# Polyak's parameters belong to quadratics with exact gradients and known $\mu$ and $L$.
# Lessard, Recht and Packard (2016) asked for less: a convex function whose curvature lies between $\mu=1$ and $L=25$, but changes.
# Its derivative is $25x$ for $x<1$, $x+24$ for $1\le x<2$ and $25x-24$ beyond.

# %%
def kinked_slope(x):
    """Increasing, with slope 25, 1 and 25; zero at 0."""
    return torch.where(x < 1, 25 * x, torch.where(x < 2, x + 24, 25 * x - 24))


def kinked(x):
    """The convex function with this derivative and minimum 0."""
    middle = x**2 / 2 + 24 * x - 12
    return torch.where(x < 1, 12.5 * x**2,
                       torch.where(x < 2, middle, 12.5 * x**2 - 24 * x + 36))


eta, beta = polyak(1, 25)
balls = {x0: run(momentum, kinked_slope, x0, 300, lr=eta, beta=beta)
         for x0 in (3.0, 3.2, 3.4)}
x = torch.linspace(-3, 4, 36, dtype=torch.float64)
slopes = torch.func.vmap(torch.func.grad(kinked))(x)
torch.testing.assert_close(slopes, kinked_slope(x))
for kink in (1.0, 2.0):  # no jump
    two = torch.tensor([kink - 1e-9, kink], dtype=torch.float64)
    for function in (kinked, kinked_slope):
        assert abs(function(two).diff()) < 1e-6

# %%
cycle = torch.tensor([-1.802449, 0.646531, 2.115918], dtype=torch.float64)
for x0 in (3.2, 3.4):
    torch.testing.assert_close(balls[x0][-3:].sort().values, cycle, rtol=0,
                               atol=1e-6)
    assert (balls[x0][-3:] - balls[x0][-6:-3]).abs().max() < 1e-9
assert balls[3.0][-1].abs() < 1e-30
assert abs(gd(kinked_slope, 3.3, 1 / 25, 300)[-1]) < 1e-9  # the control

# %% [markdown]
# From 3.2 and 3.4 the ball ends in a cycle through three points and never arrives; from 3.0 it converges, as gradient descent does from 3.3.
# A better choice of the two numbers cannot repair this in general: for every choice, either the rate on quadratics is not accelerated, or some smooth and strongly convex function makes the heavy ball cycle (Goujaud, Taylor and Dieuleveut, 2023).
#
# ## Nesterov's variant
#
# Nesterov's method of 1983 can be read as a change of one detail (Sutskever and others, 2013): it takes the gradient not where the ball is, but where its velocity is about to carry it.
# Let $\mathbf{w}_0=\mathbf{y}_0=\mathbf{x}_0$ and
#
# $$\mathbf{w}_{t+1}=\mathbf{y}_t-\eta\nabla f(\mathbf{y}_t),\qquad\mathbf{y}_{t+1}=\mathbf{w}_{t+1}+\beta_{t+1}(\mathbf{w}_{t+1}-\mathbf{w}_t), \tag{12.6.8}$$
#
# a step of gradient descent from $\mathbf{y}_t\in\mathbb{R}^d$, and then a move beyond it.
# For convex functions the memory grows, $\beta_t=\frac{t-1}{t+2}$.

# %%
def accelerated(grad, x0, eta, steps, beta=None):
    """The path (steps + 1, ...) of w; beta grows unless it is given."""
    w = y = torch.as_tensor(x0, dtype=torch.float64)
    path = [w]
    for t in range(1, steps + 1):
        w, before = y - eta * grad(y), w
        y = w + ((t - 1) / (t + 2) if beta is None else beta) * (w - before)
        path.append(w)
    return torch.stack(path)

# %% [markdown]
# PyTorch stores $\mathbf{y}$ instead of $\mathbf{w}$.
# With constant $\beta$ and $\mathbf{w}_{t}-\mathbf{w}_{t-1}=-\eta\mathbf{v}_t$, (12.6.8) becomes $\mathbf{v}_t=\beta\mathbf{v}_{t-1}+\mathbf{g}_t$ with the gradient at $\mathbf{y}_{t-1}$, and $\mathbf{y}_t=\mathbf{y}_{t-1}-\eta(\mathbf{g}_t+\beta\mathbf{v}_t)$.

# %% tags=["export"]
def nesterov(params, grads, state, hyper):
    """One step of Nesterov's variant, in PyTorch's form, in place."""
    velocity = state.setdefault("v", [torch.zeros_like(p) for p in params])
    for p, g, v in zip(params, grads, velocity, strict=True):
        v.mul_(hyper["beta"]).add_(g)
        p -= hyper["lr"] * (g + hyper["beta"] * v)

# %%
slope = torch.func.grad(canyon)
y = run(nesterov, slope, (-5.0, -2.0), 30, lr=0.2, beta=0.6)
w = accelerated(slope, (-5.0, -2.0), 0.2, 30, beta=0.6)
torch.testing.assert_close(w[1:], y[:-1] - 0.2 * y[:-1] * torch.tensor(
    [0.2, 4], dtype=torch.float64))

# %% [markdown]
# **Theorem.** If $f$ is convex and $L$-smooth and has a minimizer $\mathbf{x}^*$, gradients are exact and $\eta\le1/L$, then with $\beta_t=\frac{t-1}{t+2}$
#
# $$f(\mathbf{w}_T)-f^*\le\frac{2\|\mathbf{x}_0-\mathbf{x}^*\|^2}{\eta(T+1)^2}. \tag{12.6.9}$$
#
# *Proof.* Let $\mathbf{z}_t=\mathbf{w}_t+\frac{t-1}2(\mathbf{w}_t-\mathbf{w}_{t-1})$, with $\mathbf{z}_0=\mathbf{x}_0$.
# The definitions give $(t+2)\mathbf{y}_t=t\mathbf{w}_t+2\mathbf{z}_t$ and $\mathbf{z}_{t+1}=\mathbf{z}_t-\frac{t+2}2\eta\mathbf{g}$ with $\mathbf{g}=\nabla f(\mathbf{y}_t)$.
# We show that the potential
#
# $$\Phi_t=(t+1)^2\big(f(\mathbf{w}_t)-f^*\big)+\tfrac2\eta\|\mathbf{z}_t-\mathbf{x}^*\|^2 \tag{12.6.10}$$
#
# never rises.
# The descent lemma (12.3.5) says $f(\mathbf{w}_{t+1})\le f(\mathbf{y}_t)-\frac\eta2\|\mathbf{g}\|^2$, and convexity that $f(\mathbf{y}_t)$ exceeds $f(\mathbf{w}_t)$ and $f^*$ by at most $\mathbf{g}^\top(\mathbf{y}_t-\mathbf{w}_t)$ and $\mathbf{g}^\top(\mathbf{y}_t-\mathbf{x}^*)$.
# Weight these two by $t(t+2)$ and $2(t+2)$, which add up to $(t+2)^2$:
#
# $$(t+2)^2(f(\mathbf{w}_{t+1})-f^*)-t(t+2)(f(\mathbf{w}_t)-f^*)\le2(t+2)\,\mathbf{g}^\top(\mathbf{z}_t-\mathbf{x}^*)-\tfrac\eta2(t+2)^2\|\mathbf{g}\|^2 .$$
#
# Expanding $\frac2\eta\|\mathbf{z}_{t+1}-\mathbf{x}^*\|^2$ produces the negative of the right side.
# Since $t(t+2)<(t+1)^2$, we have $\Phi_{t+1}\le\Phi_t$ for $t\ge1$, and for $t=0$ the second term drops out, so $\Phi_1\le\frac2\eta\|\mathbf{x}_0-\mathbf{x}^*\|^2$.
# This proves (12.6.9).
#
# Is the power of $T$ the best possible?
# Take Nesterov's chain, $f(\mathbf{x})=\frac12\mathbf{x}^\top\mathbf{A}\mathbf{x}-x_1$ in $2T+1$ dimensions, where $\mathbf{A}$ has 2 on the diagonal and $-1$ beside it, and $L=4$.
# A gradient at a point whose coordinates vanish beyond the $k$-th reaches only one coordinate further.
# So after $T$ steps from $\mathbf{0}$, *any* method that adds up gradients it has seen is confined to the first $T$ coordinates, and the best point there is still $\frac1{4(T+1)}>\frac{3L\|\mathbf{x}^*\|^2}{32(T+1)^2}$ above the minimum.
# In enough dimensions, then, no such method has a better power of $T$.

# %%
def chain_slope(x):
    """The gradient of Nesterov's chain at x (n,)."""
    slope = 2 * x
    slope[1:] -= x[:-1]
    slope[:-1] -= x[1:]
    slope[0] -= 1
    return slope


def on_chain(T):
    """Gaps / L R^2 after T steps: accelerated, plain, and the best one."""
    i = torch.arange(1, 2 * T + 2, dtype=torch.float64)
    best, start = 1 - i / (2 * T + 2), torch.zeros(len(i))
    confined = (1 - i / (T + 1)).clamp(min=0)  # the best of T coordinates
    assert chain_slope(best).abs().max() < 1e-12
    assert (chain_slope(confined)[:T].abs() < 1e-12).all()
    ends = [accelerated(chain_slope, start, 1 / 4, T)[-1],
            gd(chain_slope, start, 1 / 4, T)[-1], confined]
    assert all((x[T:] == 0).all() and x[T - 1] > 0 for x in ends)
    gaps = [(x - best) @ chain_slope(x) / 2 for x in ends]
    assert abs(gaps[-1] * 4 * (T + 1) - 1) < 1e-9
    return [gap / (4 * best.square().sum()) for gap in gaps]

# %%
Ts = torch.tensor([1, 3, 10, 30, 100, 300])
fast, slow, limit = torch.tensor([on_chain(T) for T in Ts.tolist()]).T
scaled = fast * (Ts + 1)**2  # constant if the rate is 1 / T^2
assert (limit > 3 / (32 * (Ts + 1)**2)).all() and (limit < fast).all()
assert (fast <= 2 / (Ts + 1)**2).all() and (slow <= 1 / (2 * Ts)).all()
assert abs(scaled[-1] / scaled[-2] - 1) < 0.02 and 0.2 < scaled.min()
assert (limit * 32 / 3 * (Ts + 1)**2)[-1] < 1.01  # and no better constant
assert scaled.max() < 0.31 and slow[-1] > 5 * fast[-1]

# %% [markdown]
# The second problem is the logistic regression of Section 12.3, where $L$ is more than 200 times the smallest curvature at the minimum.

# %% tags=["hide-input"]
rng = torch.Generator().manual_seed(123)
A = torch.randn(200, 3, generator=rng, dtype=torch.float64)
A *= torch.tensor([1.0, 0.3, 0.1])
sign = torch.sign(A.sum(dim=1) + torch.randn(200, generator=rng,
                                             dtype=torch.float64))
L_logistic = torch.linalg.eigvalsh(A.T @ A)[-1] / (4 * len(A))


def logistic(w):
    """Mean loss of logistic regression with weights w (3,)."""
    return F.softplus(-sign * (A @ w)).mean()


w_slope, w_best = torch.func.grad(logistic), torch.zeros(3).double()
for _ in range(10):  # Newton
    w_best -= torch.linalg.solve(torch.func.hessian(logistic)(w_best),
                                 w_slope(w_best))
curvatures = torch.linalg.eigvalsh(torch.func.hessian(logistic)(w_best))
assert w_slope(w_best).norm() < 1e-14 and L_logistic / curvatures[0] > 200

# %%
# check: the bound and the potential along the whole run
eta, T = 1 / L_logistic, torch.arange(1, 401, dtype=torch.float64)
w = accelerated(w_slope, torch.zeros(3), eta, 400)
descent = gd(w_slope, torch.zeros(3), eta, 400)
gaps, plain_gaps = ([logistic(x) - logistic(w_best) for x in path[1:]]
                    for path in (w, descent))
gaps, plain_gaps = torch.stack(gaps), torch.stack(plain_gaps)
unit = w_best.square().sum() / eta  # L R^2
assert (gaps <= 2 * unit / (T + 1)**2).all()
t = T[:, None]  # (400, 1)
z = w[1:] + (t - 1) / 2 * w.diff(dim=0)
y = (t * w[1:] + 2 * z) / (t + 2)
grads = torch.stack([w_slope(point) for point in y[:-1]])
torch.testing.assert_close(w[2:], y[:-1] - eta * grads)
torch.testing.assert_close(z[1:], z[:-1] - (t[:-1] + 2) / 2 * eta * grads)
potential = (T + 1)**2 * gaps + 2 / eta * (z - w_best).square().sum(dim=1)
assert (potential.diff() <= 1e-12).all() and potential[0] <= 2 * unit
falls = (z[1:] - w_best).norm(dim=1) - (z[:-1] - w_best).norm(dim=1)
assert falls.max() > 0  # the distance alone does rise
assert (gaps[99:] < plain_gaps[99:] / 100).all()  # peaks of swings, too
assert gaps[9] > plain_gaps[9] / 2

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), sharey=True,
                                  layout="constrained")
left.plot(Ts, slow, "s:", color="C1", ms=4, label="gradient descent")
left.plot(Ts, fast, "o:", color="C0", ms=4, label="Nesterov")
left.plot(Ts, limit, "k_", ms=10, label="no method below")
right.plot(T, plain_gaps / unit, "--", color="C1")
right.plot(T, gaps / unit, "-", color="C0")
for ax, name in ((left, "chain"), (right, "logistic regression")):
    ax.plot(T, 1 / (2 * T), color="C1", lw=0.8)
    ax.plot(T, 2 / (T + 1)**2, color="C0", lw=0.8)
    ax.set(xscale="log", yscale="log", xlabel="steps $T$", title=name,
           ylim=(1e-9, 3))
left.set_ylabel("gap to the minimum / $LR^2$")
left.legend(fontsize=8)
d2l.describe(fig, """Gap against steps, both logarithmic. On the chain
    Nesterov's points run parallel to its bound and to the marks of the best
    possible method; gradient descent falls slower. On logistic regression
    both lie far below their bounds, and Nesterov's curve swings.""")

# %% [markdown]
# **Figure 12.6.6.** Thin lines: the bounds $\frac1{2T}$ of gradient descent and $\frac2{(T+1)^2}$ of Nesterov's variant, in units of $LR^2$ with $R=\|\mathbf{x}_0-\mathbf{x}^*\|$.
# On the left each $T$ has its own chain, of length $2T+1$, so the dotted lines join the ends of six runs; on the right a curve is one run.
#
# On the chain the measured gap is 0.2 to 0.31 times $LR^2/(T+1)^2$ for the six $T$ from 1 to 300; from $T=10$ on it is nearly parallel to the bound, a factor of about 7 below it, and about 3 above what no method of this kind can beat.
# On the logistic regression the gap after ten steps is still more than half of gradient descent's; from step 100 to 400 it is less than a hundredth, even at the peaks of its swings.
#
# If $f$ is also $\mu$-strongly convex, the constant $\beta=\frac{\sqrt\kappa-1}{\sqrt\kappa+1}$ with $\eta=1/L$ gives a linear rate for every such function (Liu, 2025, proves rates of this kind in a few lines),
#
# $$f(\mathbf{w}_T)-f^*\le\Big(1-\tfrac1{\sqrt\kappa}\Big)^T\Big(f(\mathbf{x}_0)-f^*+\tfrac\mu2\|\mathbf{x}_0-\mathbf{x}^*\|^2\Big). \tag{12.6.11}$$

# %%
safe = {x0: accelerated(kinked_slope, x0, 1 / 25, 60, beta=4 / 6)
        for x0 in balls}
t = torch.arange(101, dtype=torch.float64)
for x0, path in safe.items():
    line = (1 - 1 / 5)**t[:61] * (kinked(path[0]) + path[0]**2 / 2)
    assert (kinked(path) <= line).all() and path[0] == x0
ends = torch.tensor([1.0, 100.0], dtype=torch.float64)  # curvatures
both = [accelerated(lambda x: ends * x, (1.0, 1.0), 1 / 100, 100, beta=9 / 11),
        run(momentum, lambda x: ends * x, (1.0, 1.0), 100,
            **dict(zip(("lr", "beta"), polyak(1, 100))))]
steady, rolling = (path.square() @ ends / 2 for path in both)
line = (1 - 1 / 10)**t * (steady[0] + 1)  # mu R^2 / 2 = 1
assert (steady <= line).all() and steady[0] == 50.5
factor = (steady[100] / steady[60])**(1 / 40)
assert 0.9**2 < factor < 0.9**2 + 0.03  # the square of the line's factor
assert rolling[1] > rolling[0] and rolling[100] < steady[100] / 100
assert (rolling[1:50] > steady[1:50]).all()  # and Nesterov's leads at first
assert (rolling[55:] < steady[55:]).all()

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8),
                                  layout="constrained")
for i, (name, path) in enumerate({
        "heavy ball from 3.2": balls[3.2], "heavy ball from 3.0": balls[3.0],
        "Nesterov from 3.2": safe[3.2]}.items()):
    left.plot(path[:31], "osv"[i] + "-", color=f"C{i}", ms=3, lw=0.8,
              label=name)
right.plot(t, line, "k-", lw=0.8, label="bound (12.6.11)")
right.plot(t[::3], steady[::3], "v", color="C2", ms=3, label="Nesterov")
right.plot(t[::3], rolling[::3], "o", color="C0", ms=3, label="heavy ball")
left.set(xlabel="step", ylabel="$x$", ylim=(-3.3, 6))
right.set(xlabel="step", ylabel="gap to the minimum", yscale="log")
for ax in (left, right):
    ax.legend(fontsize=8)
d2l.describe(fig, """Left, position against steps: the heavy ball from 3.2
    keeps jumping between three values, the other two settle at 0. Right,
    gaps on a quadratic: Nesterov's stays below its line and falls more
    steeply, the heavy ball rises first and then falls fastest.""")

# %% [markdown]
# **Figure 12.6.7.** Left: on the function with derivative $25x$, $x+24$, $25x-24$, the heavy ball with Polyak's parameters cycles from one of two starts; Nesterov's variant is at 0 after two steps, since a step of $1/25$ is exact where the derivative is $25x$.
# Right: on a quadratic with the curvatures 1 and 100, Nesterov's variant falls by about the square of its guaranteed factor; the heavy ball falls faster, but first rises, and is behind for about 50 steps.
#
# On quadratics the heavy ball is faster in the long run; of the two, only Nesterov's variant is accelerated on all smooth and strongly convex functions.

# %% [markdown]
# ## What PyTorch computes
#
# `torch.optim.SGD` contains both methods with a constant $\beta$, and three details that differ from other texts.
#
# - The rate multiplies the velocity only when it is applied. The form $\mathbf{v}\leftarrow\beta\mathbf{v}+\eta\mathbf{g}$, $\mathbf{x}\leftarrow\mathbf{x}-\mathbf{v}$ agrees as long as $\eta$ is constant; after a change of $\eta$ it moves on at the old rate for a while (Exercise 4).
# - `dampening` $d$ weights the new gradient by $1-d$. With $d=\beta$ the velocity is an *exponential moving average* of gradients. If the average starts at $\mathbf{0}$, the rate for the same path is $\eta_{\text{EMA}}=\frac{\eta}{1-\beta}$; Adam starts so, and corrects for it ([Section 12.10](10-adam.ipynb)).
# - The first velocity is the first gradient, undamped. The weights of PyTorch's average therefore add up to 1 from the first step on, and its path is not exactly that of the undamped form.
#
# Weight decay adds a multiple of $\mathbf{x}$ to the gradient first.

# %%
def sgd_options(params, grads, state, hyper):
    """One step of SGD with PyTorch's options, in place."""
    beta, damp = hyper.get("momentum", 0), hyper.get("dampening", 0)
    first = "v" not in state
    velocity = state.setdefault("v", [torch.zeros_like(p) for p in params])
    for p, g, v in zip(params, grads, velocity, strict=True):
        g = g + hyper.get("weight_decay", 0) * p
        v.mul_(beta).add_(g if first else (1 - damp) * g)
        p -= hyper["lr"] * (g + beta * v if hyper.get("nesterov") else v)

# %%
# check 12.6-C4: equal to torch.optim.SGD for 50 steps, option by option
def compare(step, hyper, **options):
    """Run `step` and PyTorch's SGD side by side on logistic regression."""
    ours = [torch.zeros(3, dtype=torch.float64), torch.ones(1).double()]
    state, theirs = {}, [p.clone().requires_grad_() for p in ours]
    optimizer = torch.optim.SGD(theirs, lr=0.5, **options)
    for t in range(50):
        optimizer.zero_grad()
        (logistic(theirs[0]) + logistic(theirs[0] * theirs[1])).backward()
        grads = torch.func.grad(lambda p: logistic(p[0]) + logistic(
            p[0] * p[1]))(ours)
        optimizer.step()
        copies = [g.clone() for g in grads]
        step(ours, grads, state, {"lr": 0.5, **hyper})
        torch.testing.assert_close(grads, copies, rtol=0, atol=0)
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q.detach(), rtol=1e-12, atol=1e-12)


for options in ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True},
                {"momentum": 0.9, "dampening": 0.9}, {"weight_decay": 0.1},
                {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}):
    compare(sgd_options, options, **options)
compare(momentum, {"beta": 0.9}, momentum=0.9)
compare(nesterov, {"beta": 0.9}, momentum=0.9, nesterov=True)

# %%
ema = run(sgd_options, slope, (-5.0, -2.0), 20, lr=0.6 / (1 - 0.5),
          momentum=0.5, dampening=0.5)
first = torch.tensor([-5, -2], dtype=torch.float64)
first -= 1.2 * slope(first)  # the undamped first step
torch.testing.assert_close(ema[1], first)
assert (ema[1] - paths[0.6, 0.5][1]).norm() > 1  # not the undamped path


def moving_average(params, grads, state, hyper):
    """The EMA form with v_0 = 0, as `momentum` otherwise."""
    share = 1 - hyper["beta"]
    momentum(params, [share * g for g in grads], state, hyper)


torch.testing.assert_close(paths[0.6, 0.5], run(
    moving_average, slope, (-5.0, -2.0), 20, lr=1.2, beta=0.5))

# %% [markdown]
# ## With noise
#
# Now let the gradient be $\lambda x+\sigma\xi_t$ with independent noise $\xi_t$ of mean 0 and variance 1.
# The state $(v,x)$ then receives $\sigma\xi_t\,(1,-\eta)^\top$ in each step, so its stationary covariance $\mathbf{P}\in\mathbb{R}^{2\times2}$ solves a *discrete Lyapunov equation*,
#
# $$\mathbf{P}=\mathbf{R}\mathbf{P}\mathbf{R}^\top+\sigma^2\begin{pmatrix}1\\-\eta\end{pmatrix}\begin{pmatrix}1&-\eta\end{pmatrix},\qquad P_{xx}=\frac{\eta\sigma^2(1+\beta)}{\lambda(1-\beta)\big(2(1+\beta)-\eta\lambda\big)}. \tag{12.6.12}$$
#
# These are linear equations in the three distinct entries of $\mathbf{P}$; solving them gives the variance $P_{xx}$ of $x$.
# For $\beta=0$ it is the floor of [Section 12.4](04-sgd.ipynb).
# For $\eta\lambda\to0$ it is $\frac{\sigma^2}{2\lambda}\cdot\frac\eta{1-\beta}$: the floor of plain SGD with the effective rate, which is also the rate at which both move.
# In terms of the effective rate $\eta_e=\frac\eta{1-\beta}$ the whole formula is $P_{xx}=\frac{\eta_e\sigma^2}{\lambda(2-\eta_e\lambda\frac{1-\beta}{1+\beta})}$: at any equal effective rate, more memory means a lower floor.

# %%
# check 12.6-C5: the formula against the Lyapunov equation
def heavy_ball_variance(eta, beta, lam, sigma=1.0):
    """The variance of x at which momentum with a constant rate stays."""
    return eta * sigma**2 * (1 + beta) / (
        lam * (1 - beta) * (2 * (1 + beta) - eta * lam))


def lyapunov(eta, beta, lam, sigma=1.0):
    """The covariance (2, 2) of (v, x), by solving a linear system."""
    M, kick = R(beta, eta, lam), torch.tensor([1, -eta]).double()
    system = torch.eye(4) - torch.kron(M, M)
    noise = sigma**2 * torch.outer(kick, kick)
    return torch.linalg.solve(system, noise.flatten()).reshape(2, 2)


for case, value in (((0.1, 0.9, 2), 0.263889), ((0.3, 0.5, 4), 0.125)):
    assert abs(heavy_ball_variance(*case) - value) < 1e-6
    assert abs(lyapunov(*case)[1, 1] - heavy_ball_variance(*case)) < 1e-6
assert abs(lyapunov(0.1, 0.9, 2, 3.0)[1, 1] - heavy_ball_variance(
    0.1, 0.9, 2, 3.0)) < 1e-5
assert abs(heavy_ball_variance(0.3, 0, 2, 5.0)
           - stationary_variance(0.3, 2, 5.0)) < 1e-12
for beta in (0.0, 0.5, 0.9):  # in terms of the effective rate
    share = 0.8 * (1 - beta) / (1 + beta)
    assert abs(heavy_ball_variance(0.4 * (1 - beta), beta, 2)
               - 0.4 / 2 / (2 - share)) < 1e-12
small = heavy_ball_variance(1e-5, 0.9, 2) / stationary_variance(1e-4, 2)
assert abs(small - 1) < 1e-3

# %%
def measured_variance(eta, beta, seed=0, steps=200):
    """Variance of x over many chains with curvature 2 and unit noise."""
    rng = torch.Generator().manual_seed(seed)
    end = run(momentum, lambda x: 2 * x + torch.randn(
        chains, generator=rng), [0.0] * chains, steps, lr=eta, beta=beta)[-1]
    return end.square().mean().item()


full_run = chains >= 20_000 and num_seeds >= 5  # not smoke or rehearsal
floors = {}
for beta in (0.0, 0.5, 0.9):
    for effective in (0.05, 0.1, 0.2, 0.4, 0.8):
        eta = effective * (1 - beta)
        floors[beta, effective] = measured_variance(eta, beta)
        ratio = floors[beta, effective] / heavy_ball_variance(eta, beta, 2)
        assert abs(ratio - 1) < (0.05 if full_run else 0.4)
for effective, low, high in ((0.05, 0.95, 1.15), (0.4, 1.5, 1.8),
                             (0.8, 4, 5.5)):
    ratio = floors[0.0, effective] / floors[0.9, effective]
    assert not full_run or low < ratio < high

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
line = torch.linspace(0.02, 0.95, 100)
for i, beta in enumerate((0.0, 0.5, 0.9)):
    ax.plot(line, heavy_ball_variance(line * (1 - beta), beta, 2),
            color=f"C{i}", lw=1)
    dots = [(e, v) for (b, e), v in floors.items() if b == beta]
    ax.plot(*zip(*dots), "osv"[i], color=f"C{i}", ms=5,
            label=rf"$\beta={beta}$")
ax.plot(line, line / 4, "k:", lw=1, label="small rates")
ax.set(xlabel=r"effective rate $\eta/(1-\beta)$", ylabel="variance of $x$",
       ylim=(0, 1.1))
ax.legend(fontsize=8)
d2l.describe(ax, """Stationary variance against the effective rate. Markers
    lie on three curves that coincide with a dotted line near 0; the curve
    without momentum bends up, that of 0.9 hardly.""")

# %% [markdown]
# **Figure 12.6.8.** Variance at which the method stays, for $\lambda=2$ and $\sigma=1$; markers: simulated chains, curves: (12.6.12).
#
# As $\eta_e\to0$ memory makes no difference to the floor.
# At $\eta_e\lambda=0.8$ plain SGD's is already more than 1.5 times that of $\beta=0.9$, and near plain SGD's own limit $\eta_e\lambda=2$ it grows without bound.

# %% [markdown]
# ## When does it pay?
#
# The theory predicts a gain where $\kappa$ matters and noise does not, and it names the control: the same problem with noise.
# We take two problems, the canyon ($\kappa=20$) and the airfoil regression ($\kappa=12$), each without noise (30 steps) and with it (300 steps): for the canyon unit Gaussian noise on the gradient, for the regression batches of 10 instead of all 1500 rows.
# Plain SGD, momentum with Polyak's $\beta$ for the problem, and the customary $\beta=0.9$ each get 14 constant rates, $1.8\cdot2^{-k}$ times their own limit $(2+2\beta)/L$.
# The one with the best mean over five seeds is then run on other seeds, with equal steps.

# %%
airfoil = {b: Airfoil(b) for b in (10, 1500)}
real = airfoil[10].source == "real"
X = torch.cat([airfoil[10].X, torch.ones(1500, 1)], dim=1)  # (1500, 6)
spectrum = torch.linalg.eigvalsh(X.T @ X / 1500)
optimum = torch.linalg.lstsq(X, airfoil[10].y).solution
least = 0.5 * (X @ optimum - airfoil[10].y).square().mean().item()


def canyon_end(noise, steps, seed, **hyper):
    """Mean of f over chains / 20 runs of momentum with a noisy gradient."""
    rng = torch.Generator().manual_seed(seed)
    x0 = [[-5.0, -2.0]] * (chains // 20)
    lam = torch.tensor([0.2, 4], dtype=torch.float64)
    x = run(momentum, lambda x: lam * x + noise * torch.randn(
        x.shape, generator=rng), x0, steps, **hyper)[-1]
    return torch.func.vmap(canyon)(x).mean().item()


def airfoil_end(b, epochs, seed, **hyper):
    """Loss above the least possible one."""
    data = airfoil[b]
    return train_opt(momentum, hyper, data, epochs, seed)[1][-1] - least


settings = {"canyon, exact": (0.2, 4, canyon_end, (0, 30)),
            "canyon, noisy": (0.2, 4, canyon_end, (1, 300)),
            "airfoil, all rows": (spectrum[0].item(), spectrum[-1].item(),
                                  airfoil_end, (1500, 30)),
            "airfoil, batches": (spectrum[0].item(), spectrum[-1].item(),
                                 airfoil_end, (10, 2))}

# %%
def tune(setting, beta):
    """The best of 14 rates: its place, the rate, and its ends."""
    mu, L, end, size = setting
    rates = [1.8 * (2 + 2 * beta) / L * 2.0**-k for k in range(14)]
    tried = torch.tensor([[end(*size, seed, lr=lr, beta=beta)
                           for seed in range(100, 105)] for lr in rates])
    k = tried.mean(dim=1).nan_to_num(nan=torch.inf).argmin().item()
    return k, rates[k], [end(*size, seed, lr=rates[k], beta=beta)
                         for seed in range(num_seeds)]


# %% tags=["hide-input"]
seen = []


def spy(seed, lr, beta):
    """A gap with one lucky seed at the large rates."""
    seen.append(seed)
    return 0.0 if seed == 100 and lr > 0.5 else lr


assert tune((0.2, 4, spy, ()), 0.0)[0] == 13  # the best mean, not one run
assert not set(seen[:70]) & set(seen[70:])  # other seeds at the end

# %%
table = {}
for name, setting in settings.items():
    for beta in (0.0, polyak(*setting[:2])[1], 0.9):
        k, lr, ends = table[name, beta] = tune(setting, beta)
        print(f"{name:18} beta {beta:.2f}: rate {lr:.4f}, effective "
              f"{lr / (1 - beta):.3f}, gap {min(ends):.1e} to {max(ends):.1e}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
for ax, name in zip(axes, settings, strict=True):
    for i, (beta, row) in enumerate((b, r) for (n, b), r in table.items()
                                    if n == name):
        ax.plot([i] * len(row[2]), row[2], "osv"[i], color=f"C{i}", ms=4,
                alpha=0.7)
    ax.set(yscale="log", xlim=(-0.5, 2.5), title=name,
           xticks=range(3), xticklabels=["0", "Polyak", "0.9"],
           xlabel=r"$\beta$")
for ax, bottom, top in zip(axes, (1e-10, 1e-2, 1e-16, 1e-3), (1, 1, 1, 0.1)):
    ax.set_ylim(bottom, top)
axes[0].set_ylabel("gap to the minimum")
d2l.describe(fig, """Four panels of dots. Without noise Polyak's momentum lies
    many orders of magnitude below plain gradient descent and below 0.9; with
    noise the three groups lie within one order of magnitude.""")

# %% [markdown]
# **Figure 12.6.9.** Gap to the minimum, each arm at its best of 14 rates; one dot per seed.
# Steps are equal within a panel (30 without noise, 300 with it), and each panel has its own vertical scale.

# %%
assert all(len(set(ends)) == num_seeds for (name, _), (*_, ends)
           in table.items() if name in ("canyon, noisy", "airfoil, batches"))
if full_run and real:
    for name in settings:
        rows = {b: row for (n, b), row in table.items() if n == name}
        zero, best, much = (torch.tensor(rows[b][2]) for b in sorted(rows))
        assert all(0 < row[0] < 13 for row in rows.values())  # no end
        if name in ("canyon, exact", "airfoil, all rows"):
            assert best.max() < 1e-5 * zero.min()
            assert much.min() > zero.max()
        else:
            for other in (best, much):
                assert 1 / 3 < other.mean() / zero.mean() < 3
    assert round((spectrum[-1] / spectrum[0]).item()) == 12

# %% [markdown]
# Without noise, momentum with the right $\beta$ gains more than five orders of magnitude in 30 steps.
# With noise, the means of the three arms lie within a factor of 3 of each other.
# And $\beta=0.9$ is *worse* than no momentum on both noise-free problems: it is Polyak's choice for a $\kappa$ above 1000, and as the product of the roots is $\beta$, no rate brings its factor below $\sqrt\beta=0.95$, while gradient descent has 0.90 at $\kappa=20$.
#
# But the noisy runs were also longer.
# So we change the noise alone: the canyon, 30 steps, both arms tuned as before.

# %%
gains = {}
for noise in (0, 0.01, 0.1, 1):
    setting = (0.2, 4, canyon_end, (noise, 30))
    zero, best = (sum(tune(setting, beta)[2]) / num_seeds
                  for beta in (0.0, polyak(0.2, 4)[1]))
    gains[noise] = zero / best
    print(f"noise {noise}: gap {zero:.1e} without momentum, {best:.1e} with")
if full_run:
    assert gains[0] > 1e5 and 15 < gains[0.01] < 60
    assert 2.5 < gains[0.1] < 6 and 1 < gains[1] < 2

# %% [markdown]
# At equal steps noise of standard deviation 0.01 already shrinks the gain from five orders of magnitude to less than two, and unit noise to less than a factor of 2.
# This fits the formulas: noise of 0.01 hardly changes the gap of plain SGD, which is still on its way, while nearly all of momentum's gap is now noise, a floor that 30 steps were enough to reach.
# Memory speeds up the way; it does not remove the floor.
#
# Three pairs with fixed parameters on the airfoil data, after two epochs: the largest effective rate leaves the largest mean gap.
# (Two epochs are too few for the stationary formula.)

# %%
# check 12.6-C6: two epochs with batches of 10, ordered by effective rate
excess = {}
for lr, beta in ((0.02, 0.5), (0.005, 0.9), (0.01, 0.9)):
    runs = [airfoil_end(10, 2, seed, lr=lr, beta=beta)
            for seed in range(num_seeds)]
    excess[lr, beta] = sum(runs) / num_seeds
    print(f"effective {lr / (1 - beta):.2f}: mean {excess[lr, beta]:.4f}, "
          f"{min(runs):.4f} to {max(runs):.4f}")
if full_run and real:
    assert excess[0.01, 0.9] > 1.5 * excess[0.005, 0.9] > 0
    assert excess[0.01, 0.9] > 1.5 * excess[0.02, 0.5] > 0

# %% [markdown]
# Networks are neither quadratic nor free of noise, and what momentum does there is still being measured.
# Wang and others (2024) show that where rates are small and gradient noise dominates, SGD with and without momentum behave alike, and find little difference where the best rate is small, in training on ImageNet with small to medium batches and in fine-tuning language models.
# Fu and others (2023) find the advantage above a threshold of the effective rate, and larger for large batches.
# As a first-moment average, momentum remains part of Adam, Lion and Muon ([Section 12.10](10-adam.ipynb)).

# %% [markdown]
# ## Summary
#
# - On a quadratic, momentum acts on each eigendirection by a 2x2 matrix of determinant $\beta$: stable for $0<\eta\lambda<2+2\beta$, and shrinking by $\sqrt\beta$ wherever the roots are complex.
# - Polyak's optimum replaces $\kappa$ by $\sqrt\kappa$, after a transient whose height grows like $\sqrt\kappa$.
# - It is a theorem about quadratics: on a smooth and strongly convex function whose derivative has two kinks, the same parameters cycle from some starts.
# - Nesterov's variant has a proof for convex functions, of order $1/T^2$, and in enough dimensions no method that combines gradients has a better power of $T$.
# - With noise, momentum at a small rate has about the speed and the floor of SGD at the effective rate $\eta/(1-\beta)$; in our control the gain shrank from five orders of magnitude to a small factor as the noise grew, and a $\beta$ too large for $\kappa$ was a loss without noise.

# %% [markdown]
# ## Exercises
#
# ### Exercise 12.6-1
#
# How many steps do the best rates of gradient descent and of momentum promise until $\rho^T\le10^{-6}$, for $\kappa=10$, 100 and 1000?
# How many does momentum need from random starts, on ten curvatures spread evenly on a logarithmic scale?

# %% [markdown]
# #### Solution 12.6-1

# %% [markdown]
# The smallest $T$ with $\rho^T\le10^{-6}$ is 69 against 22, 691 against 69, and 6908 against 219.
# From most starts the steps really needed are more, because of the factor $t$ in (12.6.7): for these three $\kappa$ up to about half as many again.

# %%
def last_above(path, tol=1e-6):
    """Steps until the distance stays below tol times the first one."""
    far = path.norm(dim=1) > tol * path[0].norm()
    return far.nonzero().max().item() + 1


rng = torch.Generator().manual_seed(0)
for kappa, slow, fast in ((10, 69, 22), (100, 691, 69), (1000, 6908, 219)):
    eta, beta = polyak(1, kappa)
    promised = [math.ceil(math.log(1e-6) / math.log(factor)) for factor in (
        (kappa - 1) / (kappa + 1), math.sqrt(beta))]
    assert promised == [slow, fast]
    lam = torch.logspace(0, math.log10(kappa), 10).tolist()
    needed = sorted(last_above(run(momentum, curved(lam), torch.randn(
        10, generator=rng).tolist(), 600, lr=eta, beta=beta))
        for _ in range(20))
    print(f"kappa {kappa}: promised {fast}, needed {needed[0]} "
          f"to {needed[-1]}")
    assert 1.1 * fast < needed[10] <= needed[-1] < 1.6 * fast
    corner = run(momentum, curved([1.0, kappa]), (1.0, 1.0), 600, lr=eta,
                 beta=beta)
    assert last_above(corner) == {10: 27, 100: 93, 1000: 315}[kappa]

# %% [markdown]
# ### Exercise 12.6-2
#
# Take the curvatures $\lambda_i=2^{-i}$ for $i=1,\dots,8$.
# Plot how each coordinate decays at Polyak's optimum, and find the best $\beta$ by a grid, with the best rate for each.

# %% [markdown]
# #### Solution 12.6-2

# %% [markdown]
# $\kappa=2^7$, so $\sqrt\beta=0.838$.
# For each $\beta$ on a grid we take the rate with the smallest radius over all eight curvatures; the best pair is the formula's, up to the grid.
# All curves end with nearly the same slope, though their curvatures differ by a factor of 128.

# %%
lam = 2.0 ** -torch.arange(1, 9).double()
mu, L = lam.min().item(), lam.max().item()
eta, beta = polyak(mu, L)
grid = torch.linspace(0.5, 0.9, 81).double()
rates = eta * torch.linspace(0.5, 1.5, 101).double()
worst = radius(grid[:, None, None], rates[:, None], lam).amax(dim=-1)
i, j = divmod(worst.argmin().item(), len(rates))
assert abs(grid[i] - beta) <= 0.01 and abs(rates[j] / eta - 1) <= 0.02
assert math.sqrt(beta) <= worst.min() < math.sqrt(beta) + 0.01
path = run(momentum, curved(lam.tolist()), [1.0] * 8, 120, lr=eta, beta=beta)
envelope = path.abs().unfold(0, 20, 1).amax(dim=-1)
speed = (envelope[100] / envelope[60]) ** (1 / 40)  # (8,)
assert (speed - math.sqrt(beta)).abs().max() < 0.03
ax = d2l.plot(torch.arange(121), path.abs().T + 1e-16, yscale="log",
              xlabel="step", ylabel="$|x_i|$")
d2l.describe(ax, """Eight oscillating curves on a logarithmic axis that fall
    with about the same slope.""")

# %% [markdown]
# ### Exercise 12.6-3
#
# Prove (12.6.2), and check it numerically for a random $\mathbf{Q}$.

# %% [markdown]
# #### Solution 12.6-3

# %% [markdown]
# With $\mathbf{x}^*=-\mathbf{Q}^{-1}\mathbf{c}$, expand $\frac12(\mathbf{x}-\mathbf{x}^*)^\top\mathbf{Q}(\mathbf{x}-\mathbf{x}^*)=\frac12\mathbf{x}^\top\mathbf{Q}\mathbf{x}-\mathbf{x}^\top\mathbf{Q}\mathbf{x}^*+\frac12\mathbf{x}^{*\top}\mathbf{Q}\mathbf{x}^*$.
# Here $\mathbf{Q}\mathbf{x}^*=-\mathbf{c}$ turns the second term into $+\mathbf{x}^\top\mathbf{c}$ and the third into $+\frac12\mathbf{c}^\top\mathbf{Q}^{-1}\mathbf{c}$, which has to be subtracted again.
# The first term of (12.6.2) is 0 at $\mathbf{x}^*$ and positive elsewhere, so the minimum is $b-\frac12\mathbf{c}^\top\mathbf{Q}^{-1}\mathbf{c}$: always at most $b$.

# %%
best = -torch.linalg.solve(Q, c)
lowest = 7 - 0.5 * c @ torch.linalg.solve(Q, c)
rng = torch.Generator().manual_seed(3)
for _ in range(20):
    x = torch.randn(3, generator=rng, dtype=torch.float64)
    shifted = 0.5 * (x - best) @ Q @ (x - best) + lowest
    torch.testing.assert_close(h(x), shifted)
    assert h(x) > h(best)
torch.testing.assert_close(h(best), lowest)
assert torch.func.grad(h)(best).norm() < 1e-12 and lowest < 7 - 0.1

# %% [markdown]
# ### Exercise 12.6-4
#
# Some libraries compute $\mathbf{v}\leftarrow\beta\mathbf{v}+\eta\mathbf{g}$, $\mathbf{x}\leftarrow\mathbf{x}-\mathbf{v}$.
# Divide $\eta$ by 10 in the middle of a run.
# When do the two forms differ, and which one slows down at once?

# %% [markdown]
# #### Solution 12.6-4

# %% [markdown]
# They agree until the change.
# Then PyTorch's form shortens the whole step at once, while in the other one only new gradients are scaled: the old velocity decays by $\beta$ per step and carries the point on.
# A schedule tuned with one form is not the same schedule in the other.

# %%
def momentum_lr_inside(params, grads, state, hyper):
    """The form in which the velocity contains the rate."""
    scaled = [hyper["lr"] * g for g in grads]
    momentum(params, scaled, state, {**hyper, "lr": 1.0})


def switched(optimizer, steps=20, at=10):
    """A path on the canyon whose rate drops from 0.4 to 0.04 at a step."""
    state, count = {}, iter(range(steps))

    def step(x):
        lr = 0.4 if next(count) < at else 0.04
        optimizer([x], [slope(x)], state, {"lr": lr, "beta": 0.9})
    return train_2d(step, steps=steps)


outside, inside = switched(momentum), switched(momentum_lr_inside)
torch.testing.assert_close(outside[:11], inside[:11])
moves = [(path[11] - path[10]).norm() for path in (outside, inside)]
print(f"first step after the change: {moves[0]:.2f} and {moves[1]:.2f}")
assert moves[1] > 3 * moves[0]
constant = [switched(optimizer, at=20) for optimizer in (
    momentum, momentum_lr_inside)]
torch.testing.assert_close(*constant)  # without a change they agree

# %% [markdown]
# ### Exercise 12.6-5
#
# O'Donoghue and Candès (2015) restart Nesterov's method whenever its last move points uphill.
# Do the same to the heavy ball: set its velocity to 0 if $\mathbf{g}_t^\top\mathbf{v}_{t-1}<0$.
# How many steps does this save in the canyon, for $\beta=0.9$ and for $\beta=0.5$?

# %% [markdown]
# #### Solution 12.6-5

# %% [markdown]
# A step moves along $-\mathbf{v}$; if $\mathbf{g}^\top\mathbf{v}<0$, that direction goes uphill at the new point: the ball has overshot.
# With $\eta=0.4$ and $\beta=0.9$, too much for $\kappa=20$, restarting saves more than half of the steps.
# With $\beta=0.5$, close to the optimum, it costs a few steps.
# Here a restart repairs a memory that is too long, without knowing $\kappa$.

# %%
def restarted(params, grads, state, hyper):
    """Momentum that forgets a velocity pointing uphill."""
    if "v" in state and sum((g * v).sum() for g, v in zip(
            grads, state["v"])) < 0:
        del state["v"]
    momentum(params, grads, state, hyper)


counts = {}
for beta in (0.9, 0.5):
    counts[beta] = [last_above(run(optimizer, slope, (-5.0, -2.0), 400,
                                   lr=0.4, beta=beta))
                    for optimizer in (momentum, restarted)]
    print(f"beta {beta}: {counts[beta][0]} steps, restarted "
          f"{counts[beta][1]}")
assert counts[0.9][1] < 0.5 * counts[0.9][0]
assert 0 < counts[0.5][1] - counts[0.5][0] < 10

# %% [markdown]
# ## Sources
#
# - B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, USSR Computational Mathematics and Mathematical Physics 4 (1964), [doi:10.1016/0041-5553(64)90137-5](https://doi.org/10.1016/0041-5553%2864%2990137-5): the heavy-ball method and its rate.
# - G. Goh, *Why momentum really works*, Distill (2017), [doi:10.23915/distill.00006](https://doi.org/10.23915/distill.00006): the 2x2 matrix and its regimes.
# - L. Lessard, B. Recht and A. Packard, *Analysis and design of optimization algorithms via integral quadratic constraints*, SIAM Journal on Optimization 26 (2016), [arXiv:1408.3595](https://arxiv.org/abs/1408.3595): the function on which the heavy ball cycles.
# - B. Goujaud, A. Taylor and A. Dieuleveut, *Provable non-accelerations of the heavy-ball method* (2023), [arXiv:2307.11291](https://arxiv.org/abs/2307.11291).
# - H. Mohammadi, S. Samuelson and M. R. Jovanović, *Transient growth of accelerated optimization algorithms* (2021), [arXiv:2103.08017](https://arxiv.org/abs/2103.08017): transients proportional to $\sqrt\kappa$.
# - W. Su, S. Boyd and E. J. Candès, *A differential equation for modeling Nesterov's accelerated gradient method: theory and insights*, JMLR 17 (2016), [arXiv:1503.01243](https://arxiv.org/abs/1503.01243): $\beta_t=\frac{t-1}{t+2}$ and its potential; Nesterov's paper of 1983.
# - J. Liu, *A concise Lyapunov analysis of Nesterov's accelerated gradient method* (2025), [arXiv:2502.17373](https://arxiv.org/abs/2502.17373): rates for convex and for strongly convex functions.
# - C. Guzmán and A. Nemirovski, *On lower complexity bounds for large-scale smooth convex optimization*, Journal of Complexity 31 (2015), [arXiv:1307.5001](https://arxiv.org/abs/1307.5001): what no first-order method can beat.
# - I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of initialization and momentum in deep learning*, ICML 2013: the form of Nesterov's variant that PyTorch's documentation refers to, and how it differs.
# - I. Gitman et al., *Understanding the role of momentum in stochastic gradient methods*, NeurIPS 2019, [arXiv:1910.13962](https://arxiv.org/abs/1910.13962): stability regions and stationary distributions.
# - R. Wang et al., *The marginal value of momentum for small learning rate SGD*, ICLR 2024, [arXiv:2307.15196](https://arxiv.org/abs/2307.15196).
# - J. Fu et al., *When and why momentum accelerates SGD: an empirical study* (2023), [arXiv:2306.09000](https://arxiv.org/abs/2306.09000).
# - B. O'Donoghue and E. Candès, *Adaptive restart for accelerated gradient schemes*, Foundations of Computational Mathematics 15 (2015), [arXiv:1204.3982](https://arxiv.org/abs/1204.3982).
