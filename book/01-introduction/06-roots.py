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
# # 1.6 Roots
#
# Deep learning looks young, but many of its ideas are old.
# Estimating from samples and fitting by least squares are older than any computer; adjusting a connection after an error is about as old as the first ones.
# We run some of these old algorithms here.

# %% [markdown]
# **You will**
#
# - place the ideas of this book in five centuries of statistics, computing and neuroscience;
# - protect a mean against a wrong entry;
# - train a perceptron, and prove that it stops;
# - see why Hebb's rule explodes, and how a small change turns it into principal component analysis.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## A timeline
#
# The figure lists the steps that this section talks about.

# %% tags=["hide-input"]
statistics = {
    1522: "Köbel: a rod of 16 feet", 1713: "Bernoulli: frequencies settle",
    1733: "de Moivre: the bell curve", 1805: "Legendre: least squares",
    1809: "Gauss: least squares and errors",
    1936: "Fisher: Iris; Turing: computability",
    1948: "Shannon: information", 1950: "Turing: the imitation game",
    1960: "Widrow, Hoff: least mean squares"}
brains = {
    1873: "Bain: knowledge in connections", 1890: "James: association",
    1897: "Sherrington: the synapse", 1949: "Hebb: learning connections",
    1958: "Rosenblatt: perceptron", 1986: "backpropagation spreads",
    2012: "deep networks return"}

_, ax = plt.subplots(figsize=(6.4, 4.4))
for row, year in enumerate(sorted(statistics | brains)):
    ax.text(0, -row, year, ha="center", va="center", fontsize=9,
            color="#555555")
    for words, side, color in ((statistics.get(year), -1, "#0072B2"),
                               (brains.get(year), 1, "#B84F00")):
        if words:
            ax.plot([0.28 * side, 0.4 * side], [-row, -row], color=color)
            ax.text(0.46 * side, -row, words, color=color, va="center",
                    ha="right" if side < 0 else "left", fontsize=9)
for x, title in ((-1.4, "statistics and computing"), (1.4, "brains")):
    ax.text(x, 1.1, title, ha="center", weight="bold")
ax.set(xlim=(-3.2, 3.2), ylim=(-15.6, 1.6))
ax.axis("off")
d2l.describe(ax, "A timeline read from top to bottom. On the side of "
             "statistics and computing: Köbel's rod of 16 feet in 1522, "
             "Bernoulli, de Moivre, Legendre and Gauss, Fisher and Turing "
             "in 1936, Shannon, Turing's game, Widrow and Hoff in 1960. On "
             "the side of brains: Bain, James and Sherrington before 1900, "
             "Hebb in 1949, the perceptron in 1958, backpropagation in "
             "1986, and deep networks in 2012.")

# %% [markdown]
# **Figure 1.6.1.** Five centuries of ideas, from top to bottom.

# %% [markdown]
# ## Estimating
#
# Jakob Bernoulli (1655-1705) proved that the frequency of an event settles at its probability, and gave his name to the distribution of a single coin toss.
# Carl Friedrich Gauss (1777-1855) connected errors with the bell curve, which Abraham de Moivre had found in 1733, and with the method of *least squares*, which Adrien-Marie Legendre published in 1805, four years before him.
# (The name *least mean squares* belongs to a rule by Widrow and Hoff of 1960, in which a machine corrects itself after each example.)
#
# The idea of averaging is older.
# Jakob Köbel (about 1460-1533) wrote on surveying; a woodcut in his book of 1522 shows 16 men whose feet stand in a line, one behind another, and his book on geometry, printed in 1535 after his death, states the rule.
# Let 16 men leaving church, tall ones and short ones, line up their feet: that is a rod, and the sixteenth part of it is a foot, the mean of the 16.
# Drop the longest and the shortest before dividing, and you have a *trimmed mean*.
# To see its use, suppose that somebody wrote 60 centimetres for one of the feet.

# %%
def trimmed_mean(x, k):
    """Mean of x (n,) without its k smallest and k largest entries."""
    return x.sort().values[k:len(x) - k].mean()

# %%
# check 1.6-C1: one wrong entry moves the mean, not the trimmed mean
feet = torch.tensor([30, 29.5, 31, 30.2, 29.8, 30.5, 28.9, 30.1, 31.2, 29.9,
                     30.3, 29.7, 30.6, 30.0, 29.4, 60])
mean, trimmed = feet.mean().item(), trimmed_mean(feet, 1).item()
print(f"mean {mean:.2f} cm, trimmed mean {trimmed:.2f} cm")
assert abs(mean - 31.94) < 0.005 and abs(trimmed - 30.16) < 0.005

# %% [markdown]
# One slip of the pen moves the mean by almost 2 centimetres and the trimmed mean hardly at all.
#
# Ronald Fisher (1890-1962) shaped the design of experiments and the theory of inference.
# Linear discriminant analysis and Fisher information are his, and the Iris flowers that he analysed in 1936, measured by Edgar Anderson, are still a first data set for many students.
# He was also a lifelong advocate of eugenics.
# That belongs in the account: the use of statistics to rank people did not begin with computers, and many questions about it are the same today.

# %% [markdown]
# ## Computing and information
#
# Alan Turing (1912-1954) asked in 1936 what can be computed at all, and in 1950 whether a machine can think, a question that he replaced by a game: can you tell it from a person by exchanging written messages?
# Claude Shannon (1916-2001) measured information in bits; the entropy of [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb) is his.
# The comparison of two distributions that the same section builds on it came later: the divergence from Kullback and Leibler (1951), the cross-entropy, as *inaccuracy*, from Kerridge (1961).

# %% [markdown]
# ## Neurons
#
# That knowledge lies in connections was said by Alexander Bain in 1873 and by William James in 1890; Charles Sherrington gave the junction between two nerve cells its name, the synapse, in 1897.
#
# In *The Organization of Behavior* (1949), Donald Hebb (1904-1985) stated how connections could learn, an idea that he called old himself: a synapse grows stronger when the cells on both sides are repeatedly active together.
# As a formula, for a neuron with inputs $\mathbf{x}\in\mathbb{R}^d$, weights $\mathbf{w}\in\mathbb{R}^d$ and output $y=\mathbf{w}^\top\mathbf{x}$,
#
# $$
# \Delta\mathbf{w} = \eta\,y\,\mathbf{x}, \tag{1.6.1}
# $$
#
# where $\eta$ is a small positive number and $\Delta\mathbf{w}$ the change.
# The rule has a flaw: nothing in it limits the weights, and larger weights make larger outputs, which make larger changes.
# Erkki Oja added in 1982 the term that was missing,
#
# $$
# \Delta\mathbf{w} = \eta\,y\left(\mathbf{x}-y\,\mathbf{w}\right). \tag{1.6.2}
# $$
#
# The last part pulls the length of $\mathbf{w}$ towards 1.
# We feed both rules with 5000 points of an elongated cloud.

# %%
def neuron(X, eta, oja):
    """Weights after each example, (n + 1, d), by (1.6.1) or (1.6.2)."""
    w = torch.tensor([0.3, -0.2], dtype=X.dtype)
    history = [w]
    for x in X:
        y = w @ x
        w = w + eta * y * (x - y * w if oja else x)
        history.append(w)
    return torch.stack(history)

rng = torch.Generator().manual_seed(0)
C = torch.tensor([[2.0, 1.2], [1.2, 1.0]], dtype=torch.float64)
draws = torch.randn(5000, 2, generator=rng, dtype=torch.float64)
X = draws @ torch.linalg.cholesky(C).T  # (5000, 2) with covariance C
hebb, oja = neuron(X[:500], 0.01, False), neuron(X, 0.01, True)

# %%
# check 1.6-C3: Hebb's weights explode
hebb_lengths = torch.linalg.vector_norm(hebb, dim=1)  # (501,)
oja_lengths = torch.linalg.vector_norm(oja, dim=1)    # (5001,)
print(f"length after 500 steps: {hebb_lengths[-1]:.3g}")
assert hebb_lengths[-1] > 1e3

# %%
# check 1.6-C4: Oja's weights have length 1 and the principal direction
_, vectors = torch.linalg.eigh(C)
top = vectors[:, -1]  # eigenvector of the largest eigenvalue
length = oja_lengths[-1].item()
cosine = (oja[-1] @ top).abs().item() / length
print(f"length {length:.2f}, cosine with the principal axis {cosine:.3f}")
assert 0.95 < length < 1.05 and cosine > 0.99
for w, size in ((hebb[-1], hebb_lengths[-1]), (oja[500], oja_lengths[500])):
    assert (w @ top).abs() / size > 0.995  # after 500 both have the direction

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.8, 2.8))
axes[0].plot(X[:500, 0], X[:500, 1], ".", ms=3, color="#bbbbbb")
axes[0].plot(*oja[:1500].T, color="#0072B2", label="Oja")
keep = hebb_lengths < 5
axes[0].plot(*hebb[keep].T, "--", color="#D55E00", label="Hebb")
axes[0].plot(*(top * top[0].sign()), "k*", ms=11, label="principal axis")
axes[0].set(xlim=(-4, 4), ylim=(-2.7, 2.7), xlabel="$w_1$", ylabel="$w_2$")
axes[0].legend(fontsize=8, loc="lower right")
d2l.plot([torch.arange(501.0), torch.arange(5001.0)],
         [hebb_lengths, oja_lengths], ["Hebb", "Oja"],
         fmts=["--", "-"], xlabel="examples", ylabel="length of $w$",
         yscale="log", ax=axes[1])
for line, color in zip(axes[1].lines, ("#D55E00", "#0072B2")):
    line.set_color(color)
axes[1].legend(fontsize=8, loc="upper right")
d2l.describe(axes, "Left, a grey elongated cloud with two paths of the "
             "weights: Hebb's leaves the picture along the cloud, Oja's "
             "bends to the unit vector of the principal axis and stays. "
             "Right, the length of the weights: Hebb's grows "
             "exponentially, Oja's stays at one.")

# %% [markdown]
# **Figure 1.6.2.** Both rules find the direction in which the inputs vary most.
# Only Oja's keeps a finite length.

# %% [markdown]
# So a single neuron with a local rule approximates the first principal axis of [Section 1.4](04-unsupervised-self-supervised.ipynb) without storing an example.

# %% [markdown]
# ## The perceptron
#
# Hebb's rule has no teacher.
# Frank Rosenblatt's perceptron (1958) has one, and in the form that is taught today it learns from mistakes only.
# Its neuron answers with the sign of $\mathbf{w}^\top\mathbf{x}$, the labels $y$ are $1$ or $-1$, and after each mistake
#
# $$
# \mathbf{w} \leftarrow \mathbf{w} + y\,\mathbf{x}. \tag{1.6.3}
# $$
#
# After a right answer nothing changes.
# Stochastic gradient methods, which train most networks of this book, follow a similar pattern: look at an example, find the direction in which the answer would have been better, take a step.

# %%
def perceptron(X, y, epochs=1000, w=None):
    """Weights (d,) and the list of them after each mistake.

    X (n, d) and labels y (n,), 1 or -1. Starts at `w`, or at zero. Ends
    after a round without a mistake, or after `epochs` rounds.
    """
    w, history = X.new_zeros(X.shape[1]) if w is None else w, []
    for _ in range(epochs):
        before = len(history)
        for x, target in zip(X, y):
            if target * (w @ x) <= 0:
                w = w + target * x
                history.append(w)
        if len(history) == before:
            break
    return w, history

# %% [markdown]
# On this rule there is a theorem, proved by several authors by 1962 (Rosenblatt, Block and Novikoff among them), and it has a short proof.
# Let all examples satisfy $\|\mathbf{x}\|\le R$, and suppose that some unit vector $\mathbf{u}$ separates the classes with the *margin* $\gamma>0$, that is, $y\,\mathbf{u}^\top\mathbf{x}\ge\gamma$ for all examples.
# Then the perceptron, started at $\mathbf{w}=\mathbf{0}$, makes at most $(R/\gamma)^2$ mistakes, in whatever order the examples come.
#
# Proof.
# At the start, $\mathbf{u}^\top\mathbf{w}=0$ and $\|\mathbf{w}\|=0$.
# Each mistake raises $\mathbf{u}^\top\mathbf{w}$ by at least $\gamma$, so after $m$ mistakes it is at least $m\gamma$.
# Each mistake changes $\|\mathbf{w}\|^2$ by $2y\,\mathbf{w}^\top\mathbf{x}+\|\mathbf{x}\|^2\le R^2$, since the first term is not positive at a mistake; so $\|\mathbf{w}\|\le\sqrt m R$.
# And since $\mathbf{u}^\top\mathbf{w}\le\|\mathbf{w}\|$, we have $m\gamma\le\sqrt m R$, which is the claim.

# %%
def separable(generator, n=60, margin=0.2):
    """Points in [-1, 1]^2 at least `margin` from a random line."""
    u = torch.randn(2, generator=generator, dtype=torch.float64)
    u = u / torch.linalg.vector_norm(u)
    X = 2 * torch.rand(20 * n, 2, generator=generator,
                       dtype=torch.float64) - 1
    X = X[(X @ u).abs() >= margin][:n]
    return X, torch.sign(X @ u), u

# %%
# check 1.6-C2: fewer mistakes than the bound, and in the end none
rng = torch.Generator().manual_seed(10)
X, y, u = separable(rng)
w, history = perceptron(X, y)
lengths = torch.linalg.vector_norm(X, dim=1)
R, gamma = lengths.max().item(), (y * (X @ u)).min().item()
print(f"{len(history)} mistakes, bound {(R / gamma) ** 2:.0f}")
assert len(X) == 60 and (y * (X @ w) > 0).all()
assert 1 <= len(history) <= (R / gamma) ** 2 <= 2 / 0.2**2 + 1e-9
assert torch.equal(history[0], y[0] * X[0])  # it started at zero
kept, none = perceptron(X, y, w=0.1 * u)  # right answers: no change
assert none == [] and torch.equal(kept, 0.1 * u)

# %% tags=["hide-input"]
shown = history[:6]
fig, axes = plt.subplots(1, len(shown), figsize=(1.7 * len(shown), 2.0),
                         sharex=True, sharey=True, squeeze=False)
for k, (ax, v) in enumerate(zip(axes[0], shown), start=1):
    ax.plot(*X[y > 0].T, "o", ms=3, color="#0072B2")
    ax.plot(*X[y < 0].T, "x", ms=4, color="#D55E00")
    along = 3 * torch.stack([-v[1], v[0]]) / torch.linalg.vector_norm(v)
    ax.plot([-along[0], along[0]], [-along[1], along[1]], "k-", lw=1.2)
    ax.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal",
           title=f"mistake {k}")
    wrong = int((y * (X @ v) <= 0).sum())
    ax.set_xlabel(f"{wrong} wrong")
d2l.describe(fig, "The boundary of the perceptron after each of its "
             "mistakes, a line through the origin among points of two "
             "classes. It turns with each mistake until no point is on the "
             "wrong side.")

# %% [markdown]
# **Figure 1.6.3.** The boundary after each mistake.
# A few corrections suffice for these 60 points.

# %% [markdown]
# ## What stayed, and the quiet years
#
# Two principles have lasted: alternate linear maps with simple nonlinear functions, in *layers*; and adjust all parameters at once by the chain rule, which is called *backpropagation*.
#
# Between about 1995 and 2005 networks were nevertheless out of fashion.
# Computation was scarce, and data sets were small: Iris has 150 flowers, and MNIST with 60 000 digits counted as huge.
# On such data kernel methods, decision trees and graphical models often won: they were easier to train and better understood.
# What changed is the subject of [Section 1.7](07-road-to-deep-learning.ipynb).

# %% [markdown]
# ## Summary
#
# - Averaging, least squares, entropy, computability and learning connections are between about 75 and 500 years old.
# - A trimmed mean survives a wrong entry that would move a mean anywhere.
# - Hebb's rule finds the principal direction too, and explodes; Oja's term keeps the length near 1.
# - The perceptron, started at zero, makes at most $(R/\gamma)^2$ mistakes on separable data, by a proof of three lines.
# - Layers and the chain rule stayed; networks had to wait for data and computation.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.6-1
#
# Write the proof of the perceptron bound in your own words, and check the bound on 50 random sets.
# Why does the order of the examples not matter, and why does the start?

# %% [markdown]
# #### Solution 1.6-1

# %% [markdown]
# Two quantities race.
# The projection on the separating direction grows at least linearly with the number of mistakes, because each update has a component of at least $\gamma$ along $\mathbf{u}$.
# The length grows at most like a square root, because an update after a mistake points away from $\mathbf{w}$ or sideways.
# A projection cannot exceed the length, so the race must end.
# The argument counts mistakes only; it does not use which example caused them.
# It does use the start: from $\mathbf{w}=-c\,\mathbf{u}$ the projection has to make up for $c$ first, which takes about $c/R$ mistakes or more, and with $c$ large enough the bound fails.

# %%
rng = torch.Generator().manual_seed(1)
most = 0.0
for _ in range(50):
    X, y, u = separable(rng)
    w, history = perceptron(X, y)
    R = torch.linalg.vector_norm(X, dim=1).max()
    bound = (R / (y * (X @ u)).min()) ** 2
    assert len(history) <= bound
    assert (y * (X @ w) > 0).all()
    most = max(most, float(len(history) / bound))
print(f"at most {most:.0%} of the bound was used")
w, history = perceptron(X, y, w=-100 * u)
print(f"from a bad start: {len(history)} mistakes, bound {bound:.0f}")
assert len(history) > 1.5 * bound and (y * (X @ w) > 0).all()

# %% [markdown]
# ### Exercise 1.6-2
#
# How many of the 16 feet may be wrong, by any amount, before the trimmed mean with $k=1$ moves by more than 5 centimetres?

# %% [markdown]
# #### Solution 1.6-2

# %% [markdown]
# One wrong entry is the largest or the smallest, and is cut off.
# With two wrong entries on the same side, one of them remains in the mean of 14, and can move it anywhere.
# The number of entries that suffices to ruin an estimate, 2 here, is its *breakdown point*, often given as a share of the sample; for the mean it is 1, for the median about half of the sample.

# %%
clean = feet.clone()
clean[-1] = 30.0
assert feet[-1] == 60  # the measurements stay as they are
reference = trimmed_mean(clean, 1)
for wrong, size in ((1, 1e4), (1, -1e4), (2, 1e4), (2, -1e4)):
    spoiled = clean.clone()
    spoiled[:wrong] = size
    moved = (trimmed_mean(spoiled, 1) - reference).abs() > 5
    assert bool(moved) == (wrong == 2)
    assert (spoiled.mean() - clean.mean()).abs() > 5  # the mean: always

# %% [markdown]
# ### Exercise 1.6-3
#
# Show that the weights at which Oja's rule stands still on average are the unit eigenvectors of the covariance matrix $\mathbf{C}$, and zero.

# %% [markdown]
# #### Solution 1.6-3

# %% [markdown]
# Average (1.6.2) over the inputs, with $y=\mathbf{x}^\top\mathbf{w}$ and $E[\mathbf{x}\mathbf{x}^\top]=\mathbf{C}$:
# $E[\Delta\mathbf{w}]=\eta\left(\mathbf{C}\mathbf{w}-(\mathbf{w}^\top\mathbf{C}\mathbf{w})\,\mathbf{w}\right)$.
# If it is zero, $\mathbf{C}\mathbf{w}$ is a multiple of $\mathbf{w}$, so $\mathbf{w}$ is zero or an eigenvector, with eigenvalue $\lambda=\mathbf{w}^\top\mathbf{C}\mathbf{w}=\lambda\|\mathbf{w}\|^2$; hence its length is 1.
# The residual after 5000 steps is small compared with the eigenvalue of 2.8; it does not vanish, because the examples keep pushing at a constant rate.

# %%
w = oja[-1]
residual = torch.linalg.vector_norm(C @ w - (w @ C @ w) * w).item()
largest = torch.linalg.eigvalsh(C)[-1].item()
print(f"residual {residual:.2f}, largest eigenvalue {largest:.1f}")
assert residual < 0.3 and 2.7 < largest < 2.9

# %% [markdown]
# ### Exercise 1.6-4
#
# Give the perceptron the four points of exclusive or: $(\pm1,\pm1)$, with the label 1 if the coordinates differ.
# What happens?

# %% [markdown]
# #### Solution 1.6-4

# %% [markdown]
# No line separates them, so each round has at least one mistake, and the perceptron does not stop.
# A constant input for a threshold does not help.
# Minsky and Papert made the limits of such units widely known in 1969; a hidden layer lifts this one ([Section 5.1](../05-multilayer-perceptrons/01-multilayer-perceptrons.ipynb)).

# %%
points = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
X = torch.cat([points, torch.ones(4, 1)], dim=1)  # with a threshold
y = torch.tensor([-1.0, 1, 1, -1])
counts = [len(perceptron(X, y, epochs)[1]) for epochs in (100, 200)]
assert counts[1] > counts[0] > 100

# %% [markdown]
# ## Sources
#
# - S. M. Stigler (1986). The History of Statistics. Harvard University Press: Bernoulli, de Moivre, Legendre, Gauss; and (2016) The Seven Pillars of Statistical Wisdom, the same publisher: Köbel's feet; F. J. Swetz, V. J. Katz, [Jacob Köbel's Geometry](https://www.maa.org/book/export/html/116881).
# - R. A. Fisher (1936). The use of multiple measurements in taxonomic problems. [doi:10.1111/j.1469-1809.1936.tb02137.x](https://doi.org/10.1111/j.1469-1809.1936.tb02137.x): the Iris data, in a journal that was then called Annals of Eugenics.
# - C. E. Shannon (1948). A mathematical theory of communication. [doi:10.1002/j.1538-7305.1948.tb01338.x](https://doi.org/10.1002/j.1538-7305.1948.tb01338.x).
# - S. Kullback, R. A. Leibler (1951). On information and sufficiency. [doi:10.1214/aoms/1177729694](https://doi.org/10.1214/aoms/1177729694); D. F. Kerridge (1961). Inaccuracy and inference. Journal of the Royal Statistical Society B 23, 184-194.
# - A. M. Turing (1950). Computing machinery and intelligence. [doi:10.1093/mind/LIX.236.433](https://doi.org/10.1093/mind/LIX.236.433).
# - D. O. Hebb (1949). The Organization of Behavior. Wiley; R. E. Brown et al. (2021). The Hebb synapse before Hebb. [doi:10.3389/fnbeh.2021.732195](https://doi.org/10.3389/fnbeh.2021.732195): the older theories.
# - E. Oja (1982). A simplified neuron model as a principal component analyzer. [doi:10.1007/BF00275687](https://doi.org/10.1007/BF00275687).
# - F. Rosenblatt (1958). The perceptron: a probabilistic model. [doi:10.1037/h0042519](https://doi.org/10.1037/h0042519).
# - H. D. Block (1962). The perceptron: a model for brain functioning. [doi:10.1103/RevModPhys.34.123](https://doi.org/10.1103/RevModPhys.34.123); A. B. J. Novikoff (1962). On convergence proofs on perceptrons. Symposium on the Mathematical Theory of Automata 12, 615-622; F. Rosenblatt (1962). Principles of Neurodynamics. Spartan Books: the theorem.
# - M. Minsky, S. Papert (1969). Perceptrons. MIT Press: exclusive or.
