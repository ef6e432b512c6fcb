# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke:
#         repeats: 3
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
# # 1.1 A motivating example: recognizing a wake word
#
# A voice assistant sleeps until somebody says its name.
# Part of it listens all the time and answers one question, several times a second: was that the name, yes or no?
# Nobody can write down the rule by which it answers.
# In this section we get such a program all the same: we write one that can be adjusted, and let examples adjust it.

# %% [markdown]
# **You will**
#
# - say what a parameter, a model, a model family, a learning algorithm and training are, each by pointing at a line of code;
# - watch a detector being learned that nobody programmed, and hear what it listens for;
# - compare it with a rule written by hand, and with the best rule that can exist;
# - see how its behaviour is determined by the data it was shown.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
#
# The code uses tools that Chapter 2 explains.
# Read each cell, run it, and change a number if you are curious; one sentence before or after a cell says what it does.

# %%
import math

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML

import d2l_helpers as d2l

d2l.use_style()

# %% tags=["parameters"]
repeats = 10  # training sets of each size in Figure 1.1.6

# %% [markdown]
# ## A rule that nobody can write
#
# A microphone measures the air pressure, at compact-disc quality 44 100 times a second.
# So one second of sound is a list of roughly 44 000 numbers, the *amplitudes* of the wave.
# A program that detects a wake word has to turn such a list into *yes* or *no*.
#
# Try to state the rule.
# A single amplitude says next to nothing, since the same word spoken a moment later, louder, or by someone else gives other numbers.
# You would need conditions on all of them together, and nobody can name these conditions.
#
# Yet the task itself is easy for you.
# Listen to the two recordings below: a second of noise each, and in one of them a rising tone plays the part of the word.
# The first cell wraps a list of amplitudes as a file for a player; the second mixes the sounds.

# %% tags=["hide-input"]
def player(name, sound, rate=8000):
    """An audio player for a list of amplitudes, as a line of HTML."""
    import base64
    import io
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 1, rate, 0, "NONE", ""))  # one channel, 8 bits
        levels = (128 + 12 * sound).clamp(0, 255).byte()
        wav.writeframes(bytes(levels.tolist()))
    data = base64.b64encode(file.getvalue()).decode()
    return (f'<p>{name} <audio controls aria-label="{name}" '
            f'src="data:audio/wav;base64,{data}"></audio></p>')

# %%
rng = torch.Generator().manual_seed(1)
time = torch.arange(8000) / 8000  # one second
tone = torch.sin(math.pi * time) ** 2  # swells and fades
tone = tone * torch.sin(2 * math.pi * (300 * time + 300 * time**2))
noise = torch.randn(2, 8000, generator=rng)  # (2, 8000)
HTML(player("Recording 1", noise[0])
     + player("Recording 2", noise[1] + 0.8 * tone)
     + player("The tone alone", 0.8 * tone))

# %% [markdown]
# You heard at once which recording has the tone in it, and you would recognize it in a hundred others.
# You can *label* examples, quickly and reliably, although you cannot say how you do it.
# Machine learning starts from this asymmetry: where rules are hard to state and examples are easy to label, collect labelled examples, and let a program find the rule.
#
# The figure shows the plan of this section.
# We write a program with numbers that can be adjusted like *knobs*, and adjust them to the examples, a little at a time.
#
# ![A cycle of four boxes. 1: start with random or zero knobs, the model is useless. 2: take some labelled data. 3: adjust the knobs so that the model does better on them. 4: repeat, with an arrow from 4 back to 2.](img/training-loop.svg)
#
# **Figure 1.1.1.** The training loop.
# It starts with a model that knows nothing and repeats two small actions.

# %% [markdown]
# ## A word small enough to study
#
# To look at every detail we shrink the problem.
# A signal has $d=64$ amplitudes instead of 44 100, and the "word" is always the same short sweep $\mathbf{s}$ in the middle of the window:
#
# $$\mathbf{x} = y\,\mathbf{s}+\boldsymbol\epsilon. \tag{1.1.1}$$
#
# Here $\mathbf{x}\in\mathbb{R}^{64}$ is the signal, a list of 64 numbers.
# The number $y$ is its *label*: 1 if the word was said, 0 if not.
# The list $\mathbf{s}\in\mathbb{R}^{64}$ is the *template*, the shape of the word, and $\boldsymbol\epsilon\in\mathbb{R}^{64}$ is noise: 64 random numbers, each drawn from a normal distribution with mean 0 and variance 1, $\epsilon_j\sim\mathcal{N}(0,1)$.
# Whether a signal contains the word is decided by the toss of a fair coin.
#
# We scale the template to the length $\|\mathbf{s}\|=\sqrt{s_1^2+\dots+s_{64}^2}=4$.
# A typical amplitude of the word is then $4/\sqrt{64}=0.5$, half as large as a typical amplitude of the noise.
#
# The next cell makes the template, the one after it makes signals.
# The template is hidden from the detector: it will see only signals and labels.

# %%
def unit(v):
    """The same shape, scaled to length 1."""
    return v / torch.linalg.vector_norm(v)


t = torch.arange(64) / 64
envelope = torch.sin(math.pi * t) ** 2  # swells and fades
sweep = torch.sin(2 * math.pi * (2 * t + 5 * t**2))  # rising pitch
s = 4 * unit(envelope * sweep)  # (64,), the hidden template

# %%
def make_signals(n, generator, s=s):
    """n signals of length 64, X (n, 64), and their labels, y (n,)."""
    y = torch.randint(0, 2, (n,), generator=generator).float()
    noise = torch.randn(n, 64, generator=generator)
    return y[:, None] * s + noise, y


rng = torch.Generator().manual_seed(0)
X, y = make_signals(2000, rng)  # to learn from
again, _ = make_signals(2000, torch.Generator().manual_seed(0))
assert torch.equal(again, X)  # the generator decides everything
X_test, y_test = make_signals(10_000, rng)  # to judge with, later
print("signals", tuple(X.shape), "labels", tuple(y.shape),
      "first labels", y[:8].int().tolist())

# %% tags=["hide-input"]
yes, no = X[y == 1][0], X[y == 0][0]  # the first of each kind
_, axes = plt.subplots(1, 2, figsize=(7, 2.7), sharey=True)
for ax, signal, title in zip(axes, (yes, no),
                             ("y = 1, with the word", "y = 0, without")):
    ax.plot(signal, color="C0", lw=1, label="signal")
    ax.set(title=title, xlabel="time (samples)")
axes[0].plot(s, "--", color="C1", label="hidden word")
axes[0].set_ylabel("amplitude")
axes[0].legend(loc="lower left", ncols=2)
axes[0].set_ylim(-3.9, 3.1)
d2l.describe(axes, """Two noisy signals of 64 amplitudes. In the left one
    the template, a short sweep of rising pitch, is drawn as a dashed
    line and is smaller than the noise around it. The two signals look
    alike.""")

# %% [markdown]
# **Figure 1.1.2.** A signal with the word (left, the word itself dashed) and one without.
# Cover the dashed line, and the two look alike: the noise hides the word.

# %% [markdown]
# ## A rule written by hand
#
# Before we learn a rule, let us write one by hand.
# A word adds energy, so a signal with a large sum of squares is more likely to contain one:
#
# $$\text{say yes if}\quad x_1^2+x_2^2+\dots+x_{64}^2 > c. \tag{1.1.2}$$
#
# The $x_j$ are the 64 amplitudes of one signal and $c$ is a number, the *threshold*.
# Noise alone has the energy 64 on average, and the word adds $\|\mathbf{s}\|^2=16$, so $c$ should lie between 64 and 80.
# The cell tries many thresholds, keeps the one with the fewest errors on the 2000 labelled signals, and then counts how often it is right on the 10 000 others.
# The share of right answers is called *accuracy*.

# %%
def best_threshold(score, y):
    """The cut that separates these examples with the fewest errors."""
    cuts = score.sort().values[::10, None]  # every tenth, (n / 10, 1)
    accuracies = ((score > cuts) == (y == 1)).float().mean(dim=1)
    return cuts[accuracies.argmax()].item()


def energy(X):
    return (X**2).sum(dim=1)  # (n, 64) -> (n,)


c = best_threshold(energy(X), y)
said_yes = energy(X_test) > c  # (10000,)
hand_accuracy = (said_yes == (y_test == 1)).float().mean().item()
print(f"threshold {c:.1f}, accuracy of the hand rule {hand_accuracy:.1%}")

# %%
# check 1.1-C4: the best energy threshold is right at most 80 % of the time
assert 0.68 <= hand_accuracy <= 0.80
ramp = torch.arange(100.0)  # the cut is found among every tenth score
assert best_threshold(ramp, (ramp > 70).float()) == 70

# %% [markdown]
# Better than a coin, and useless on a kitchen shelf: with about one wrong answer in four the assistant would wake up all day.
# The rule ignores the order of the amplitudes: a rattling spoon with the energy of the word passes for it.

# %% [markdown]
# ## A program with knobs
#
# Now the other way.
# Write a program whose behaviour depends on numbers that we leave open, and think of these numbers as knobs:
#
# $$p = \sigma(w_1x_1+w_2x_2+\dots+w_{64}x_{64}+b) = \sigma(\mathbf{w}^\top\mathbf{x}+b),\qquad \sigma(z)=\frac{1}{1+e^{-z}}. \tag{1.1.3}$$
#
# Each amplitude $x_j$ of the signal $\mathbf{x}\in\mathbb{R}^{64}$ has a knob of its own, the *weight* $w_j$, which says how strongly that amplitude speaks for the word or, if it is negative, against it; together they form $\mathbf{w}\in\mathbb{R}^{64}$.
# One more knob $b$, the *bias*, raises or lowers the sum as a whole.
# The function $\sigma$, the *sigmoid*, turns the sum, any real number, into a probability $p$ between 0 and 1: $\sigma(0)=0.5$, $\sigma(2)\approx0.88$, $\sigma(-2)\approx0.12$.
# The detector says yes if $p>0.5$, that is, if the sum is positive.
#
# ![Diagram. On the left a signal of amplitudes x1 to x64. Each amplitude passes through a dial labelled with its weight w1 to w64; the dials have different positions. The results and a bias b run into a circle that sums them, then into a box with an S-shaped curve, which gives the probability p.](img/detector-with-knobs.svg)
#
# **Figure 1.1.3.** A detector with 65 knobs.
# The wiring is fixed; what the detector does is decided by the positions of the knobs.

# %% [markdown]
# This picture has names, and they are used in every later chapter.
# The knobs are the *parameters*.
# With all knobs at fixed positions the program is a *model*: it maps every signal to an answer.
# The set of all models that we get by turning the knobs is the *family*.
# In code the family is a function with open parameters:

# %%
def model(X, w, b):
    """Probability of the word for each signal: X (n, 64) -> (n,)."""
    return torch.sigmoid(X @ w + b)


def accuracy(w, b, X, y):
    """Share of right answers."""
    return ((model(X, w, b) > 0.5) == (y == 1)).float().mean().item()

# %% [markdown]
# Three members of the family, one with all knobs at zero and two with knobs turned at random, answer for the two signals of Figure 1.1.2:

# %%
rng = torch.Generator().manual_seed(11)
zeros, pair = torch.zeros(64), torch.stack((yes, no))  # (64,), (2, 64)
for name, w in (("zero", zeros),
                ("random", 0.3 * torch.randn(64, generator=rng)),
                ("random", 0.3 * torch.randn(64, generator=rng))):
    p = model(pair, w, b=0.0)
    print(f"{name:6s}  p = {p[0]:.2f} with the word, {p[1]:.2f} without; "
          f"accuracy {accuracy(w, 0.0, X_test, y_test):.1%}")

# %%
# check 1.1-C5: before training the model says 0.5 to every signal
assert (model(X_test, zeros, 0.0) == 0.5).all()

# %% [markdown]
# Three models, three behaviours, one program, and none of them is any good.
# Somewhere among all positions of the 65 knobs there may be a good one.
#
# How do we choose a family in the first place?
# It must be rich enough to contain a good model, and it should fit the kind of input and output.
# Then it serves many tasks at once: the same family that recognizes "Alexa" should do for "Apricot", with other positions of the knobs, because both turn a second of sound into a yes or no.
# A program that turns an image into a caption, or an English sentence into a Chinese one, has inputs and outputs of another kind, and may need another family.

# %% [markdown]
# ## Training
#
# Nobody turns 65 knobs by hand.
# A *learning algorithm* is the program that uses data to set them, and running it is called *training*.
# Nearly all training in this book goes in the circle of Figure 1.1.1, and the third step of the circle needs two decisions.
#
# First, what does "better" mean?
# We punish a model for being surprised by the labels, with the *cross-entropy*
#
# $$L(\mathbf{w},b) = -\frac1n\sum_{i=1}^n\left[y^{(i)}\log p^{(i)}+(1-y^{(i)})\log(1-p^{(i)})\right]. \tag{1.1.4}$$
#
# There are $n$ examples; $y^{(i)}$ is the label of example $i$, 0 or 1, and $p^{(i)}$ the probability that the model gives it.
# Of the two terms only the one for the true label remains, for instance $-\log p^{(i)}$ if the word was said.
# A model that says $p=0.9$ then pays $-\log0.9\approx0.11$, one that says $0.1$ pays $-\log0.1\approx2.30$, and one that always says $0.5$ pays $\log2\approx0.69$.
#
# Second, which way does a knob have to turn?
# Calculus answers it for all knobs at once ([Section 4.1](../04-linear-classification/01-softmax-regression.ipynb) has the derivation), and the answer can be read without it:
#
# $$\mathbf{w} \leftarrow \mathbf{w}-\frac{\eta}{n}\sum_{i=1}^n\left(p^{(i)}-y^{(i)}\right)\mathbf{x}^{(i)},\qquad b \leftarrow b-\frac{\eta}{n}\sum_{i=1}^n\left(p^{(i)}-y^{(i)}\right). \tag{1.1.5}$$
#
# The difference $p^{(i)}-y^{(i)}$ is the error on example $i$, a number between $-1$ and $1$; $\mathbf{x}^{(i)}\in\mathbb{R}^{64}$ is its signal; the number $\eta>0$, the *learning rate*, says how far the knobs turn in one step.
# If the model overlooked a word ($p=0.1$, $y=1$), its error is $-0.9$, and the weights move towards that signal.
# If it heard a word where there was none ($p=0.8$, $y=0$), they move away from that signal.
# Where it is right and sure, the error is nearly 0 and nothing moves.
#
# (The code computes (1.1.4) as it is written, and that breaks down for sums beyond about 17: in 32 bits $p$ then rounds to 1, $\log(1-p)$ is $-\infty$, and its product with 0 is not a number. [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb) has the remedy.)
#
# That is the whole learning algorithm.
# In each step it uses all $n=2000$ examples; larger problems take a few at a time.

# %%
def train(X, y, lr=0.5, steps=200):
    """Gradient descent on (1.1.4) from zero; returns w (d,) and b."""
    w, b = torch.zeros(X.shape[1]), torch.tensor(0.0)  # 1: useless
    for _ in range(steps):  # 4: repeat
        error = model(X, w, b) - y  # 2: look at labelled data, (n,)
        w = w - lr * error @ X / len(X)  # 3: turn the knobs a little
        b = b - lr * error.mean()
    return w, b

# %% [markdown]
# Look for the word in this function: there is no template in it, no sweep, nothing about sound.
# We run it and watch the loss (1.1.4) on the training signals and the accuracy on the 10 000 signals that it never sees.

# %%
def cross_entropy(w, b, X, y):
    p = model(X, w, b)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean().item()


losses = []
for steps in (0, 1, 3, 10, 30, 100, 200):
    w, b = train(X, y, steps=steps)
    losses.append(cross_entropy(w, b, X, y))
    print(f"{steps:3d} steps: loss {losses[-1]:.3f}, "
          f"test accuracy {accuracy(w, b, X_test, y_test):.1%}")
assert math.isclose(losses[0], math.log(2), rel_tol=1e-6)
assert all(new < old for old, new in zip(losses, losses[1:]))

# %% [markdown]
# The loss starts at $\log2$, as it must, and falls; the accuracy climbs from that of a coin to a level far above the hand rule.
# Nobody told the program what to listen for, so let us look at what it found.
# The figure draws the 64 learned weights over the template that the detector has never seen.

# %%
w, b = train(X, y)
ax = d2l.plot(range(64), [s, 4 * unit(w)],
              ["hidden template", "learned weights"],
              xlabel="time (samples)", ylabel="amplitude, weight")
d2l.describe(ax, """The hidden template, a sweep of rising pitch, and the
    learned weights as a dashed line. The weights follow every swing of
    the template, with small errors.""")

# %% [markdown]
# **Figure 1.1.4.** The learned weights, scaled to length 4, lie over the hidden word.
# The program discovered the word from labels alone.

# %% [markdown]
# One picture can be luck, so we repeat everything with ten data sets, and the next cells compare the worst result with a bound.

# %%
results = []  # one row for each data set: accuracy, cosine similarity
for seed in range(10):
    rng = torch.Generator().manual_seed(seed)
    w_seed, b_seed = train(*make_signals(2000, rng))
    fresh = make_signals(10_000, rng)  # test signals and their labels
    cosine = torch.cosine_similarity(w_seed, s, dim=0).item()
    results.append((accuracy(w_seed, b_seed, *fresh), cosine))
accuracies, cosines = zip(*results)

# %%
# check 1.1-C1: on ten data sets the learned rule is right 96 % or more
assert min(accuracies) >= 0.96

# %% [markdown]
# How similar two shapes are, whatever their size, is measured by their *cosine similarity* $\mathbf{w}^\top\mathbf{s}/(\|\mathbf{w}\|\,\|\mathbf{s}\|)$: 1 for equal shapes, 0 for shapes that have nothing to do with each other.

# %%
# check 1.1-C3: the learned weights have the shape of the hidden template
assert min(cosines) >= 0.93
print(f"worst of ten: accuracy {min(accuracies):.1%}, "
      f"cosine similarity {min(cosines):.2f}")

# %% [markdown]
# Why does (1.1.5) find the word?
# In the first step all errors are $+\frac12$ or $-\frac12$, so the weights become a multiple of (sum of the signals with the word) minus (sum of those without).
# The noise has no preference and nearly cancels out over 2000 signals; the word is in every signal of the first sum and in none of the second, and remains.

# %% [markdown]
# ## How good can any rule be?
#
# The learned detector is better than the hand rule, but it still makes mistakes.
# Is there a better one?
# We made the signals ourselves, so we can find out; with real recordings nobody can.
#
# Compare how well the two possible labels explain a signal.
# For independent normal noise the logarithm of the ratio of the two densities is
#
# $$\log\frac{p(\mathbf{x}\mid y=1)}{p(\mathbf{x}\mid y=0)} = \frac{\|\mathbf{x}\|^2-\|\mathbf{x}-\mathbf{s}\|^2}{2} = \mathbf{s}^\top\mathbf{x}-\frac{\|\mathbf{s}\|^2}{2}, \tag{1.1.6}$$
#
# a number, where $p(\mathbf{x}\mid y)$ is the density of signals with the label $y$.
# As both labels are equally frequent, no rule is right more often than the one that says yes when this number is positive.
# That rule is a member of our family: its knobs are $\mathbf{w}=\mathbf{s}$ and $b=-\|\mathbf{s}\|^2/2=-8$.
# Engineers know it as the *matched filter*.
#
# Without the word, $\mathbf{s}^\top\mathbf{x}$ is normal with mean 0 and standard deviation $\|\mathbf{s}\|=4$; with the word it is the same, moved up by $\|\mathbf{s}\|^2=16$.
# The cut lies half-way, 8 from either mean, that is, 2 standard deviations away.
# So the share of right answers is
#
# $$P(\text{right}) \le \Phi\!\left(\frac{\|\mathbf{s}\|}{2}\right) = \Phi(2) \approx 0.977 \tag{1.1.7}$$
#
# for every rule, in expectation, and equal for the best one; $\Phi(z)$ is the probability that a normal number with mean 0 and variance 1 is at most $z$.
# [Section 2.6](../02-preliminaries/06-probability-and-statistics.ipynb) teaches what this paragraph used.

# %%
# check 1.1-C2: no rule beats Phi(2) by more than the luck of the test set
ceiling = torch.special.ndtr(torch.linalg.vector_norm(s) / 2).item()
luck = math.sqrt(ceiling * (1 - ceiling) / 10_000)  # of one test set
best_accuracy = accuracy(s, -8.0, X_test, y_test)
assert abs(ceiling - 0.9772) < 1e-4
assert abs(best_accuracy - ceiling) < 4 * luck
assert max(accuracies) < ceiling + 4 * luck
assert sum(accuracies) / 10 < ceiling  # the mean of ten has less luck
learned_accuracy = accuracy(w, b, X_test, y_test)
assert 0 <= best_accuracy - learned_accuracy < 0.02
print(f"hand rule {hand_accuracy:.1%}, learned {learned_accuracy:.1%}, "
      f"best possible {best_accuracy:.1%}, in theory {ceiling:.1%}")

# %% [markdown]
# The learned detector comes within two percentage points of the best rule there is, and more examples would bring it closer (Figure 1.1.6).
# What the best rule gets wrong is beyond any cleverness: in these signals the noise happens to look like the word, or to hide it.
# The next figure shows what the two rules see.

# %% tags=["hide-input"]
sums = X_test @ w + b  # (10000,)
_, axes = plt.subplots(1, 2, figsize=(7, 2.7))
for ax, score, cut in zip(axes, (energy(X_test), sums), (c, 0.0)):
    bins = torch.linspace(score.min(), score.max(), 50).tolist()
    for label, color, style in ((0, "C0", "stepfilled"), (1, "C1", "step")):
        ax.hist(score[y_test == label].tolist(), bins, color=color, lw=1.8,
                histtype=style, alpha=0.5 if label == 0 else 1,
                label=("no word", "word")[label])
    ax.axvline(cut, color="black", ls="--", lw=1)
axes[0].set(xlabel="energy", ylabel="signals")
axes[1].set(xlabel=r"learned sum $\mathbf{w}^\top\mathbf{x}+b$")
axes[0].legend(loc="upper right")
d2l.describe(axes, """Histograms of two scores for test signals with and
    without the word. The energies overlap almost entirely; the learned
    sums form two separate heaps with little overlap around zero.""")

# %% [markdown]
# **Figure 1.1.5.** The energies (left) of signals with and without the word overlap widely; the learned sum (right) pulls the two kinds apart.
# The dashed lines are the cuts.

# %% [markdown]
# ## Programming with data
#
# In ordinary programming the behaviour of a program is written down.
# Here it came from 2000 labelled signals, and other data would have given another detector: this is *programming with data*.
# The plainest demonstration changes only the labels.

# %%
w_opposite, b_opposite = train(X, 1 - y)  # every label swapped
opposite = accuracy(w_opposite, b_opposite, X_test, y_test)
torch.testing.assert_close(w_opposite, -w)
print(f"trained on swapped labels: accuracy {opposite:.1%}")

# %% [markdown]
# The same program with the same signals became a detector of silence, each weight with the opposite sign.
# It did exactly what the data said.
#
# What matters next is how much data there is.
# For each size we draw several training sets, train on each, and measure the accuracy twice: on the signals that were learned from, and on the 10 000 others.

# %%
sizes = [10, 20, 50, 100, 200, 500, 1000, 2000]
rng = torch.Generator().manual_seed(5)
rows = []
for size in sizes:
    for _ in range(repeats):
        few, labels = make_signals(size, rng)
        knobs = train(few, labels)
        rows.append((accuracy(*knobs, few, labels),
                     accuracy(*knobs, X_test, y_test)))
table = torch.tensor(rows).reshape(len(sizes), repeats, 2)
train_curve, test_curve = table.mean(dim=1).mT  # each (8,)

# %% tags=["hide-input"]
ax = d2l.plot(sizes, [train_curve, test_curve],
              ["training signals", "test signals"], xscale="log",
              xlabel="number of training signals", ylabel="accuracy")
low, high = table[..., 1].min(dim=1).values, table[..., 1].max(dim=1).values
ax.fill_between(sizes, low, high, color="C1", alpha=0.2, lw=0)
ax.axhline(ceiling, color="black", ls=":", lw=1.2)
ax.text(10, ceiling - 0.004, "best possible", va="top")
ax.axhline(hand_accuracy, color="C3", ls="-.", lw=1.2)
ax.text(2000, hand_accuracy - 0.004, "hand rule", va="top", ha="right")
d2l.describe(ax, """Accuracy against the number of training signals from
    10 to 2000. On the training signals it is perfect up to 200 signals
    and then falls to the ceiling; on test signals it rises from about
    the level of the hand rule to just below the ceiling.""")

# %% [markdown]
# **Figure 1.1.6.** Accuracy on new signals grows with the number of examples towards the ceiling (1.1.7).
# The band spans all training sets of a size.

# %% [markdown]
# With few examples the detector is perfect on what it has learned from and poor on everything else.
# It has 65 knobs, enough to learn 10 or 50 noisy signals by heart, even if a coin decides their labels, and it cannot tell the word from the noise that happened to come with it.
# That is why we judge it on signals it has never seen.

# %%
gap = train_curve - test_curve  # (8,)
assert train_curve[0] == 1 and gap[0] > 0.15
coin = torch.randint(0, 2, (50,), generator=rng).float()
assert accuracy(*train(X[:50], coin), X[:50], coin) == 1  # by heart
assert gap[-1] < 0.03
assert ((low < test_curve) & (test_curve < high)).all()  # a mean
assert test_curve[-1] - test_curve[0] > 0.15

# %% [markdown]
# Move the sliders and look at the knobs themselves.
# The first sets how many signals the detector learns from, the second how many steps it takes.

# %% tags=["hide-input"]
def draw(fig, examples, steps):
    n = int(examples)
    w_n, b_n = train(X[:n], y[:n], steps=int(steps))
    ax = d2l.plot(range(64), [s, 4 * unit(w_n)],
                  ["hidden template", "learned weights"], ax=fig.subplots(),
                  xlabel="time (samples)", ylabel="amplitude, weight")
    ax.set_title(f"accuracy: training {accuracy(w_n, b_n, X[:n], y[:n]):.1%}"
                 f", test {accuracy(w_n, b_n, X_test, y_test):.1%}")
    ax.set_ylim(-1.9, 1.9)
    ax.legend(loc="lower left", ncols=2)


d2l.sliders(draw, """Hidden template and learned weights for a number of
    training signals and a number of steps. With few signals the weights
    are jagged, the more so after many steps; with many signals they cover
    the template.""",
    examples=[10, 50, 200, 500, 2000], steps=[1, 3, 10, 30, 200])

# %% [markdown]
# **Figure 1.1.7.** The weights, scaled to length 4, turn into the template as the number of examples grows.
# More steps do not replace more examples.

# %% [markdown]
# Two things can be found there.
# First, a *single* step gives a better shape than 200, which begin to fit the noise of the training signals.
# With 50 signals the similarity falls below 0.7, with 2000 it stays above 0.93, and with 20 000, whose noise cancels better, it hardly falls.
# Second, what the further steps do improve is the bias.
# After one step the detector says yes to three signals in four; cut the same sums at a better place, and it is as good as after 200 steps.

# %%
more, their_labels = make_signals(20_000, torch.Generator().manual_seed(6))
similar = {}
for n in (10, 50, 200, 2000, 20_000):
    sets = list(zip(more.split(n), their_labels.split(n)))[:10]
    shapes = [torch.stack([train(*one, steps=k)[0] for one in sets])
              for k in (1, 200)]  # each (sets, 64)
    similar[n] = [torch.cosine_similarity(found, s, dim=1).mean().item()
                  for found in shapes]
    print(f"{n:5d} signals: similarity {similar[n][0]:.2f} after one step, "
          f"{similar[n][1]:.2f} after 200")
assert all(last < first for first, last in similar.values())
assert similar[50][1] < 0.7 < 0.8 < similar[50][0]
assert 0.93 < similar[2000][1] < similar[20_000][1] - 0.02

# %%
w_one, b_one = train(X, y, steps=1)
says_yes = (X_test @ w_one + b_one > 0).float().mean().item()
moved_cut = best_threshold(X @ w_one, y)
print(f"one step: yes to {says_yes:.0%}, accuracy "
      f"{accuracy(w_one, b_one, X_test, y_test):.1%}, with the cut moved "
      f"{accuracy(w_one, -moved_cut, X_test, y_test):.1%}")
assert says_yes > 0.7 and accuracy(w_one, b_one, X_test, y_test) < 0.85
assert accuracy(w_one, -moved_cut, X_test, y_test) > learned_accuracy

# %% [markdown]
# ### Hear it
#
# To end, `train` gets signals that are 125 times as long: one second of sound with 8000 amplitudes.
# About half of the 2000 recordings contain the rising tone of the first recordings, so soft this time that you will hardly hear it in any single one.
# The detector now has 8001 knobs; the program stays as it is.
# We train on the first 20, the first 200 and all 2000 recordings, and play what was learned: the weights, as sound.

# %%
soft = 0.15 * tone  # (8000,)
rng = torch.Generator().manual_seed(7)
y_long = torch.randint(0, 2, (2000,), generator=rng).float()
X_long = y_long[:, None] * soft  # (2000, 8000)
X_long += torch.randn(2000, 8000, generator=rng)
learned = [train(X_long[:n], y_long[:n], lr=0.01, steps=5)[0]
           for n in (20, 200, 2000)]
cosines = [torch.cosine_similarity(v, soft, dim=0).item() for v in learned]
print("similarity to the tone:", [f"{v:.1f}" for v in cosines])
assert cosines[0] < 0.3 < cosines[1] < 0.6 < cosines[2]

# %%
first_yes = X_long[y_long == 1][0]
HTML(player("One recording with the tone", first_yes)
     + "".join(player(f"Weights learned from {n}", v / v.std())
               for n, v in zip((20, 200, 2000), learned)))

# %% [markdown]
# The tone rises out of the noise as recordings are added, although nothing in the program says that it should listen for a tone.
#
# Real wake words are harder than our sweep in two respects above all: they start at any moment, and everyone speaks them differently.
# Exercise 1.1-4 finds no good model for the first in our family, and looks for a better one; finding such families is a large part of deep learning.
# The vocabulary and the loop of Figure 1.1.1 stay the same; [Section 3.4](../03-linear-regression/04-linear-regression-scratch.ipynb) writes the loop again, with all tools explained.

# %% [markdown]
# ## Summary
#
# - Some rules nobody can state although everyone can label examples; there a program can be learned instead of written.
# - Parameters are the knobs of a program; fixed knobs give a model, all settings together the family, and the learning algorithm sets the knobs from data.
# - Training repeats two actions: look at labelled data, turn the knobs so that the model does better on them.
# - Two lines of arithmetic found a word hidden in noise: their weights have its shape, and their accuracy is close to the best that any rule can reach.
# - The data determine the behaviour: swapped labels give the opposite detector, and with few examples it learns the noise by heart.
# - A family that contains the best rule for one task can be hopeless for the next.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.1-1
#
# Hide another word in the signals and change nothing else.
# Does the detector find it?

# %% [markdown]
# #### Solution 1.1-1

# %% [markdown]
# Any template will do, here a plateau in the middle of the window, scaled to the same length 4.
# `make_signals` takes it as its third argument; `train` stays untouched, and the weights take the new shape.
# This is the sense in which one family serves "Alexa" and "Apricot".

# %%
plateau = torch.zeros(64)
plateau[20:36] = 1.0  # 16 ones, length sqrt(16) = 4
rng = torch.Generator().manual_seed(11)
w_new, b_new = train(*make_signals(2000, rng, s=plateau))
cosine = torch.cosine_similarity(w_new, plateau, dim=0).item()
old = torch.cosine_similarity(w_new, s, dim=0).item()
print(f"similar to the new word {cosine:.2f}, to the old one {old:.2f}")
assert cosine >= 0.93 and abs(old) < 0.3

# %% [markdown]
# ### Exercise 1.1-2
#
# Let the word be half as loud, $\|\mathbf{s}\|=2$.
# Predict the best accuracy that any rule can reach, then train and compare.

# %% [markdown]
# #### Solution 1.1-2

# %% [markdown]
# By (1.1.7) the ceiling falls to $\Phi(2/2)=\Phi(1)\approx0.841$.
# By (1.1.6) no rule is right more often, and training does not change that: the information is not in the signal.

# %%
rng = torch.Generator().manual_seed(12)
half = train(*make_signals(2000, rng, s=s / 2))
half_accuracy = accuracy(*half, *make_signals(10_000, rng, s=s / 2))
half_ceiling = torch.special.ndtr(torch.tensor(1.0)).item()
print(f"measured {half_accuracy:.1%}, ceiling {half_ceiling:.1%}")
assert abs(half_ceiling - 0.8413) < 1e-4
assert 0.78 <= half_accuracy <= 0.87

# %% [markdown]
# ### Exercise 1.1-3
#
# The people who label the recordings get tired.
# Swap 20 % of the training labels at random, train, and measure the accuracy on test signals whose labels are right.
# Why is the damage so small, and how does it depend on the number of training signals?

# %% [markdown]
# #### Solution 1.1-3

# %% [markdown]
# A wrong label pushes the weights in the wrong direction, but four right ones push against it.
# On average the push towards the word is $0.8-0.2=0.6$ times as strong, and its direction is the same.
# Only the averaging over noise gets worse, so more examples are needed: with 2000 the detector stays above 90 %, with 200 it suffers.
# Labels that are wrong at random cost examples; labels that are wrong in the *same* way, such as a word that nobody marks, are learned as if they were right.

# %%
rng = torch.Generator().manual_seed(13)
signals, labels = make_signals(2000, rng)
tired = torch.rand(2000, generator=rng) < 0.2
noisy = torch.where(tired, 1 - labels, labels)
flipped = {n: accuracy(*train(signals[:n], noisy[:n]), X_test, y_test)
           for n in (200, 2000)}
print({n: f"{value:.1%}" for n, value in flipped.items()})
assert flipped[2000] >= 0.90 and flipped[200] < flipped[2000] - 0.05
right, wrong = (train(signals, given, steps=1)[0] @ s
                for given in (labels, noisy))
kept = 1 - 2 * tired.float().mean()  # 0.6 on average
assert abs(wrong / right - kept) < 0.02  # the push towards the word

# %% [markdown]
# ### Exercise 1.1-4
#
# A speaker does not wait for our window.
# Shift the template in each signal by a random number of samples; what leaves the window at the end comes in again at its beginning.
# Train on 2000 such signals.
# What happens to the learned rule and to the hand rule?
# Is the training at fault, or the family?
# Which rule would you try instead?

# %% [markdown]
# #### Solution 1.1-4

# %% [markdown]
# The learned rule falls to the level of a coin, and both are at fault, the family more than the training.
#
# Averaged over all shifts, the word adds $\frac1{64}\sum_jw_j\cdot\sum_js_j$ to the sum, and since the amplitudes of a sound add up to nearly 0, that is nearly 0 for *every* choice of weights.
# It is tempting to conclude that every linear rule is a coin, and that is wrong: the *mean* of the sum stays, but its spread grows.
# If $\mathbf{w}$ has length 1, the rule $\mathbf{w}^\top\mathbf{x}>c$ is right with probability
#
# $$\tfrac12\Phi(c)+\tfrac1{2\cdot64}\sum_k\Phi(\mathbf{w}^\top\mathbf{s}_k-c), \tag{1.1.8}$$
#
# where $\mathbf{s}_k\in\mathbb{R}^{64}$ is the template shifted by $k$ samples.
# A wave of seven periods with the cut $c=1.25$ reaches 58 %: a word at a suitable place pushes the sum far up, noise seldom does.
# A search over (1.1.8) from three random starts came no further, so the family seems to contain no good rule.
#
# Training misses even these 58 %, for a reason of its own: it minimizes the cross-entropy, not the errors.
# At $\mathbf{w}=\mathbf{0}$, $b=0$ the slope of the expected cross-entropy is proportional to the mean of the shifted words, nearly 0, and the function is convex, so knobs at zero are nearly as good as its minimum.
#
# The energy does not care where the word is, so the hand rule works as before and is now the better one.
#
# A better family slides one short template over the signal, takes the weighted sum at each place, and keeps the largest.
# With the true template in it, it is far better than both.
# Its weights are shared by all places, so it needs no more knobs than before; layers of this kind are called convolutions, and Chapter 7 learns their weights too.

# %%
def make_shifted(n, generator):
    """Like make_signals, with the template at a random place."""
    X, y = make_signals(n, generator, s=0 * s)  # noise and labels
    start = torch.randint(0, 64, (n, 1), generator=generator)
    place = (torch.arange(64) - start) % 64  # (n, 64)
    return X + y[:, None] * s[place], y


all_places = torch.stack([s.roll(k) for k in range(64)])  # (64, 64)
scores = {"energy": energy,
          "sliding": lambda X: (X @ all_places.mT).max(dim=1).values}

# %%
rng = torch.Generator().manual_seed(14)
X_moved, y_moved = make_shifted(2000, rng)
X_new, y_new = make_shifted(10_000, rng)
moved = {"linear": accuracy(*train(X_moved, y_moved), X_new, y_new)}
for name, score in scores.items():
    cut = best_threshold(score(X_moved), y_moved)
    right = (score(X_new) > cut) == (y_new == 1)
    moved[name] = right.float().mean().item()
print({name: f"{value:.1%}" for name, value in moved.items()})
assert 0.45 < moved["linear"] < 0.53 < 0.68 < moved["energy"] < 0.80
assert moved["sliding"] > 0.85 and s.sum().abs() < 0.2

# %% [markdown]
# The wave, by the formula and on the test signals, and the search:

# %%
def chance_right(w, c):
    """(1.1.8) for weights of any length; c is the cut for length 1."""
    pushes = all_places @ unit(w)  # (64,)
    below, above = torch.special.ndtr(c), torch.special.ndtr(pushes - c)
    return (below + above.mean()) / 2


wave, cut = torch.cos(2 * math.pi * 7 * t), torch.tensor(1.25)
measured = accuracy(unit(wave), -cut, X_new, y_new)
print(f"wave: {chance_right(wave, cut):.1%}, measured {measured:.1%}")
assert abs(chance_right(wave, cut) - 0.582) < 0.001
assert abs(measured - chance_right(wave, cut)) < 0.015  # 3 deviations

# %%
found, rng = [], torch.Generator().manual_seed(15)
for _ in range(3):
    w_any = torch.randn(64, generator=rng).requires_grad_()
    c_any = torch.tensor(1.0, requires_grad=True)
    climber = torch.optim.Adam([w_any, c_any], lr=0.03, maximize=True)
    for _ in range(1500):
        climber.zero_grad()
        chance_right(w_any, c_any).backward()
        climber.step()
    found.append(chance_right(w_any, c_any).item())
print("found by searching:", [f"{value:.1%}" for value in found])
assert 0.56 < max(found) < chance_right(wave, cut) + 0.001

# %% [markdown]
# ## Sources
#
# - G. L. Turin, An introduction to matched filters, 1960, [doi:10.1109/TIT.1960.1057571](https://doi.org/10.1109/TIT.1960.1057571): the best detector of a known signal in noise.
# - D. R. Cox, The regression analysis of binary sequences, 1958, [doi:10.1111/j.2517-6161.1958.tb00292.x](https://doi.org/10.1111/j.2517-6161.1958.tb00292.x): the family (1.1.3), *logistic regression*.
# - G. Chen, C. Parada and G. Heigold, Small-footprint keyword spotting using deep neural networks, 2014, [doi:10.1109/ICASSP.2014.6854370](https://doi.org/10.1109/ICASSP.2014.6854370): wake words on a telephone.
# - P. Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, 2018, [arXiv:1804.03209](https://arxiv.org/abs/1804.03209): real recordings to continue with.
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the example and the order of topics.
