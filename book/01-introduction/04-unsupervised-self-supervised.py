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
# # 1.4 Kinds of problems II: unsupervised and self-supervised learning
#
# Labels are expensive: somebody has to look at every example.
# Data without labels are plentiful.
# What can be learned from them?
# There are two answers.
# One asks about the structure of the data themselves.
# The other is a trick: hide a part of the data, and let the program predict it from the rest.

# %% [markdown]
# **You will**
#
# - find groups with k-means, and see why its answer depends on where it starts;
# - find the directions in which data vary, by principal component analysis;
# - fill a gap in a sentence with nothing but counts;
# - manufacture labelled examples from unlabelled pictures, and find out whether they teach what you meant.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import math
from collections import Counter

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Unsupervised learning
#
# Imagine that your boss hands you a table without a column to predict and says: tell me something about our customers.
# There is no right answer to compare with; there are only better and worse questions.
# Several have names.
#
# - Can *few prototypes* describe the data? That is *clustering*: photographs into landscapes, dogs and cats, without being told that there are such things.
# - Can *few numbers* describe each example? The path of a ball is described by its position, speed and spin, however many pixels filmed it. That is *subspace estimation*, and in the linear case *principal component analysis*.
# - Is there a *representation* in which relations become geometry? Among vectors for words, Rome minus Italy plus France lies near Paris.
# - What are the *causes* of what we see? *Causality* and *probabilistic graphical models* ask which variables act on which.
# - What is the *density* of the data, that is, which examples are likely? A *generative model* can score an example or draw new ones. Variational autoencoders, generative adversarial networks, normalizing flows and diffusion models are deep ones.
#
# We run the first two.

# %% [markdown]
# ### Few prototypes: k-means
#
# Let $\mathbf{x}_1,\dots,\mathbf{x}_n\in\mathbb{R}^d$ be points, and suppose that $k$ prototypes should stand for all of them, the *centres* $\mathbf{c}_1,\dots,\mathbf{c}_k\in\mathbb{R}^d$.
# Each point is represented by the nearest centre.
# The quality of the centres is measured by the sum of the squared distances, the *inertia*:
#
# $$
# J = \sum_{i=1}^{n} \min_{j} \|\mathbf{x}_i-\mathbf{c}_j\|^2 . \tag{1.4.1}
# $$
#
# *k-means* lowers it by two steps in turn: give each point to its nearest centre, then move each centre to the mean of its points.
# Neither step can raise $J$: the first chooses the smallest distance, and the mean is the point with the smallest sum of squared distances.

# %%
def kmeans(X, k, iters, generator):
    """Centres (k, d), labels (n,) and the inertia after each step.

    X has shape (n, d). The first centres are k different points.
    """
    start = torch.randperm(len(X), generator=generator)[:k]
    centers, inertia = X[start], []  # a copy of these points
    labels = torch.full((len(X),), -1)  # no point has a centre yet
    for _ in range(iters):
        for j in range(k):
            if (labels == j).any():
                centers[j] = X[labels == j].mean(dim=0)
        distances = torch.cdist(X, centers)  # (n, k)
        labels = distances.argmin(dim=1)     # (n,)
        inertia.append(distances.amin(dim=1).square().sum().item())
    return centers, labels, inertia

# %%
# check 1.4-C1: the inertia never grows
rng = torch.Generator().manual_seed(2)
true = torch.tensor([[0.0, 0.0], [4.0, 0.5], [2.0, 3.0]])
X = true.repeat_interleave(80, 0) + 0.7 * torch.randn(240, 2, generator=rng)
before = X.clone()
for seed in range(20):
    rng = torch.Generator().manual_seed(seed)
    C, labels, inertia = kmeans(X, 3, 2 if seed < 10 else 15, rng)
    assert all(b <= a * (1 + 1e-6) for a, b in zip(inertia, inertia[1:]))
    assert math.isclose((X - C[labels]).square().sum(), inertia[-1],
                        rel_tol=1e-4)  # centres, labels, inertia: one state
assert torch.equal(X, before)  # the centres move, the points do not
means = torch.stack([X[labels == j].mean(dim=0) for j in range(3)])
torch.testing.assert_close(C, means)  # at the end nothing moves
first, same = (kmeans(X, 240, 1, torch.Generator().manual_seed(1))[0]
               for _ in range(2))  # as many centres as points
assert torch.equal(first, same) and len(first.unique(dim=0)) == 240
print(f"first {inertia[0]:.0f}, last {inertia[-1]:.0f}")

# %% [markdown]
# To watch it work, we take a bad start: three centres, two of which lie in the same cloud.

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 4, figsize=(7.2, 2.1), sharex=True, sharey=True)
colors = ["#0072B2", "#D55E00", "#009E73"]
bad = torch.Generator()
for ax, iters in zip(axes, (1, 5, 7, 10)):
    centers, labels, inertia = kmeans(X, 3, iters, bad.manual_seed(247))
    for j, color in enumerate(colors):
        ax.plot(*X[labels == j].T, ".", ms=3, color=color, alpha=0.6)
        ax.plot(*centers[j], "*", ms=13, color=color, mec="black", mew=0.8)
    ax.set_title(f"step {iters}")
    ax.set_xlabel(f"inertia {inertia[-1]:.0f}")
d2l.describe(axes, "Four states of k-means with three centres, drawn as "
             "stars. At first two centres share a cloud and the third has "
             "the other two; step by step they separate, until each one "
             "stands in the middle of a cloud, and the inertia falls.")

# %% [markdown]
# **Figure 1.4.1.** k-means at work: points in the colour of their nearest centre, centres as stars, and the inertia of both.
# Nobody said what the groups are.

# %% [markdown]
# It does not always end so well.
# No step makes the inertia worse, and yet the end depends on the start, because there can be several arrangements that no single step improves.
# Exercise 1.4-1 shows how bad it can get, and the usual remedy.

# %% [markdown]
# ### Few numbers: principal component analysis
#
# Here is a cloud of points in the plane that is nearly a line.
# Along which direction does it vary most?

# %%
rng = torch.Generator().manual_seed(3)
mix = torch.tensor([[2.0, 1.1], [0.0, 0.5]], dtype=torch.float64)
Z = torch.randn(300, 2, generator=rng, dtype=torch.float64) @ mix  # (n, d)

# %% [markdown]
# *Principal component analysis*, PCA for short, answers with a tool of linear algebra, the singular value decomposition of the centred data.
# Its right singular vectors are the *principal axes*, perpendicular directions; the squares of its singular values, divided by $n-1$, are the variances along them.

# %%
def pca(X):
    """Axes (d, d) as rows, variances (d,) and coordinates (n, d)."""
    centered = X - X.mean(dim=0)
    _, s, axes = torch.linalg.svd(centered, full_matrices=False)
    return axes, s.square() / (len(X) - 1), centered @ axes.mT

# %%
# check 1.4-C2: variances add up, coordinates are uncorrelated
axes, variances, coordinates = pca(Z)
share = variances / variances.sum()
print("share of the variance:", [f"{v:.2f}" for v in share.tolist()])
torch.testing.assert_close(variances.sum(), Z.var(dim=0).sum())
covariance = coordinates.T.cov()
assert abs(covariance[0, 1]) < 1e-5 * covariance[0, 0]
torch.testing.assert_close(covariance.diag(), variances)
assert share[0] > 0.9  # the first coordinate keeps most of the variation

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5, 2.8))
ax.plot(*Z.T, ".", ms=4, color="#56B4E9")
for axis, variance, name in zip(axes, variances, ("first", "second")):
    axis = axis if axis[0] > 0 else -axis  # the sign is arbitrary
    tip = Z.mean(dim=0) + 2 * variance.sqrt() * axis
    ax.annotate("", tip.tolist(), Z.mean(dim=0).tolist(), arrowprops={
        "arrowstyle": "-|>", "color": "#D55E00", "lw": 2.5})
    ax.text(*(tip + 0.25).tolist(), name, color="#B84F00", weight="bold")
ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
d2l.describe(ax, "An elongated cloud of points with two arrows from its "
             "centre: a long one along the cloud, the first principal axis, "
             "and a short one across it, the second.")

# %% [markdown]
# **Figure 1.4.2.** The principal axes, with a length of two standard deviations.
# The coordinate along the first axis alone keeps most of the variation.

# %% [markdown]
# ## Self-supervised learning
#
# Labels are answers.
# If nobody gives answers, make them from the data: take a part for the question and the rest for the answer.
# The task is invented, a *pretext*; what we want is what a program has to learn in order to solve it.
#
# In a text, hide some words and predict them from their surroundings, or predict each word from those before it.
# Any page of text becomes an exercise with a solution.
# To fill in "The capital of France is ___" one needs grammar and a fact.
#
# In a picture, hide a region and paint it from the rest, or cut out two pieces and ask how they lie relative to each other.
# Or make the answer by a change of your own: alter the colours and the crop, and ask whether two pictures are versions of the same one.
#
# This first training is called *pretraining*.
# The *representation* that is learned on the way, the numbers inside the model, is then *fine-tuned*: trained a little further on the task that one cares about, with few labels.
# Large models are made this way today, above all for language (Chapters 11 and 15).
# A large language model is pretrained to predict the next word, and many tasks then need no fine-tuning at all, only a description in words ([Brown et al., 2020](https://arxiv.org/abs/2005.14165)).
# How it becomes an assistant is told in [Section 1.5](05-environment-and-reinforcement-learning.ipynb).

# %% [markdown]
# ### A masked word
#
# Large models use billions of parameters for this; the idea needs a dozen lines.
# For each word we count which words stand between a left and a right neighbour.
# Then we hide a word and look up its neighbours.

# %%
def mask_predict(corpus):
    """Table of a text: (left, right) -> {word: probability}."""
    words = corpus.split()
    counts = {}
    for left, word, right in zip(words, words[1:], words[2:]):
        counts.setdefault((left, right), Counter())[word] += 1
    return {context: {word: n / c.total() for word, n in c.items()}
            for context, c in counts.items()}

# %%
# check 1.4-C3: "sat ___ the" is on, "the ___ sat" is cat or dog
corpus = "the cat sat on the mat . the dog sat on the rug ."
table = mask_predict(corpus)
print("sat ___ the:", table["sat", "the"])
print("the ___ sat:", table["the", "sat"])
assert table["sat", "the"] == {"on": 1.0}
assert table["the", "sat"] == {"cat": 0.5, "dog": 0.5}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7, 1.9), sharey=True)
for ax, (left, right) in zip(axes, (("sat", "the"), ("the", "sat"),
                                    ("the", "."))):
    words = table[left, right]
    ax.bar(list(words), list(words.values()), width=0.5)
    ax.set_title(f"{left} ___ {right}", family="monospace", fontsize=10)
    ax.set(xlim=(-0.8, max(len(words), 2) - 0.2), ylim=(0, 1.05))
axes[0].set_ylabel("probability")
d2l.describe(axes, "Three bar charts for a hidden word. Between sat and the "
             "there is only the word on. Between the and sat, cat and dog "
             "are equally likely. Between the and the full stop, mat and "
             "rug are.")

# %% [markdown]
# **Figure 1.4.3.** What may stand in the gap, by counts.
# Without a label the table puts cat beside dog, and mat beside rug.

# %% [markdown]
# The table groups words that can stand in the same place, a little like a part of speech.
# Its weakness is just as plain: a context that did not occur has no row, and the longer the contexts, the fewer of them occur twice.
# Networks replace the table by a function that treats *similar* contexts alike.

# %% [markdown]
# ### Where does this piece belong?
#
# The second pretext, *context prediction*, is for pictures.
# Cut out two neighbouring pieces, the second to the right, to the left, above or below the first, and ask: where was it?
# We need no human for the answer, having used the scissors ourselves.

# %%
RELATIONS = ("right", "left", "below", "above")
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # rows, columns


def crop_pairs(images, n, generator, size=4, gap=0, margin=0):
    """`n` pairs of neighbouring crops and where the second one lay.

    `images` has shape (m, h, w). `gap` pixels are left between the crops;
    the first keeps `margin` pixels from the border. Returns crops
    (n, 2, size, size), relation (n,), and image, row, column (n, 3).
    """
    crops, relations, places = [], [], []
    m, h, w = images.shape
    ranges = ((0, m), (margin, h - size - margin + 1),
              (margin, w - size - margin + 1), (0, 4))
    while len(crops) < n:
        i, row, col, r = (
            int(torch.randint(low, high, (), generator=generator))
            for low, high in ranges)
        row2 = row + (size + gap) * STEPS[r][0]
        col2 = col + (size + gap) * STEPS[r][1]
        if not (0 <= row2 <= h - size and 0 <= col2 <= w - size):
            continue  # the neighbour would leave the picture
        pair = [images[i, a:a + size, b:b + size]
                for a, b in ((row, col), (row2, col2))]
        crops.append(torch.stack(pair))
        relations.append(r)
        places.append((i, row, col))
    return torch.stack(crops), torch.tensor(relations), torch.tensor(places)

# %% [markdown]
# Our first pictures have $8\times8$ pixels and show a bright disc on a dark ground that gets lighter towards the bottom.

# %%
# check 1.4-C4: as many labelled pairs as asked for, from no labels
rng = torch.Generator().manual_seed(5)
grid = torch.arange(8.0)
cx, cy = 2 + 4 * torch.rand(2, 40, 1, 1, generator=rng)  # (40, 1, 1) each
distance = ((grid - cx) ** 2 + (grid[:, None] - cy) ** 2).sqrt()
images = 0.05 * grid[:, None] + (2.6 - distance).clamp(0, 1) * 0.6
crops, relation, places = crop_pairs(images, 500, rng)
assert crops.shape == (500, 2, 4, 4) and relation.shape == (500,)
assert set(relation.tolist()) == {0, 1, 2, 3}
for pair, r, (i, row, col) in zip(crops, relation.tolist(), places.tolist()):
    row2, col2 = row + 4 * STEPS[r][0], col + 4 * STEPS[r][1]
    assert torch.equal(pair[0], images[i, row:row + 4, col:col + 4])
    assert torch.equal(pair[1], images[i, row2:row2 + 4, col2:col2 + 4])

# %% tags=["hide-input"]
k = 40
i, row, col = places[k].tolist()
_, axes = plt.subplots(1, 3, figsize=(5.6, 2.1), width_ratios=(2, 1, 1))
axes[0].imshow(images[i], cmap="gray", vmin=0, vmax=1)
steps = ((0, 0), STEPS[relation[k]])
for (down, right), color in zip(steps, ("#E69F00", "#56B4E9")):
    axes[0].add_patch(plt.Rectangle(
        (col + 4 * right - 0.45, row + 4 * down - 0.45), 3.9, 3.9,
        fill=False, ec=color, lw=2.5))
for ax, crop, title in zip(axes[1:], crops[k], ("first", "second: where?")):
    ax.imshow(crop, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
for ax in axes:
    ax.axis("off")
print("answer:", RELATIONS[relation[k]])
d2l.describe(axes, "A small picture of a bright disc with two square frames "
             "that touch, and beside it the two pieces cut out, with the "
             "question where the second one belongs.")

# %% [markdown]
# **Figure 1.4.4.** A question and its answer, both made from an unlabelled picture.

# %% [markdown]
# Can the question be answered?
# The next function trains a linear classifier on half of the pairs and returns its share of right answers on the other half, which comes from other pictures.
# (How it is trained is the subject of [Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb).)
# Guessing is right one time in four.

# %%
def score(inputs, relation):
    """Share of right answers of a linear rule on the second half."""
    inputs = inputs.flatten(1)  # (n, features)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    train, test = inputs.chunk(2)
    y, z = relation.chunk(2)
    W = torch.zeros(inputs.shape[1], 4, requires_grad=True)
    for _ in range(400):
        loss = torch.nn.functional.cross_entropy(train @ W, y)
        grad, = torch.autograd.grad(loss, W)
        with torch.no_grad():
            W -= 1.0 * grad
    return (test @ W).argmax(dim=1).eq(z).float().mean().item()


def halves(images, n, **options):
    """`n` pairs from the first half of the images, n from the second."""
    parts = [crop_pairs(half, n, rng, **options)[:2]
             for half in images.chunk(2)]
    return [torch.cat(both) for both in zip(*parts)]


crops, relation = halves(images, 2000)
easy = {"both pieces": score(crops, relation),
        "first only": score(crops[:, 0], relation),
        "second only": score(crops[:, 1], relation)}
print({name: f"{value:.2f}" for name, value in easy.items()})

# %%
# the classifier answers without seeing both pieces: a shortcut
assert easy["both pieces"] > 0.75
assert min(easy["first only"], easy["second only"]) > 0.4

# %% tags=["hide-input"]
# the second half comes from other pictures, and the score is taken there
marks = torch.cat([torch.zeros(20, 8, 8), torch.ones(20, 8, 8)])
parts = halves(marks, 10)[0]
assert (parts[:10] == 0).all() and (parts[10:] == 1).all()
nonsense = torch.randn(400, 200, generator=rng)
coins = torch.randint(0, 4, (400,), generator=rng)
assert score(nonsense, coins) < 0.4  # nothing to learn, so it guesses

# %% [markdown]
# Both pieces together: excellent.
# But the same classifier is far better than guessing with the *first piece alone*, which cannot know where the second was.
# It does not have to: from a piece of the upper edge, no neighbour can lie above, and a piece of this little picture shows where it was cut.
# The classifier takes a *shortcut*, and may have learned nothing about how the two pieces fit.
# The control took two lines; without it the result looks like understanding.
#
# So we make the task harder to cheat at.
# The first piece keeps so far from the border that all four neighbours exist; then it says nothing about the answer.
# The pictures get larger and show several discs anywhere, also cut by the border; then every place looks alike, and the second piece alone says nothing either.
# A gap of one pixel between the pieces removes edges that continue directly from one into the other; the authors of the method left gaps for the same reason, and still found a network that used the colour fringes of camera lenses ([Doersch et al., 2015](https://arxiv.org/abs/1505.05192)).

# %%
rng = torch.Generator().manual_seed(6)
grid, images = torch.arange(16.0), torch.zeros(600, 16, 16)
for _ in range(3):
    cx, cy = 23 * torch.rand(2, 600, 1, 1, generator=rng) - 3.5
    distance = ((grid - cx) ** 2 + (grid[:, None] - cy) ** 2).sqrt()
    images = torch.maximum(images, (3.5 - distance).clamp(0, 1))
hard = {"gap": 1, "margin": 5}
crops, relation = halves(images, 4000, **hard)
first, second = (crops - crops.mean()).flatten(2).unbind(1)  # (n, 16) each
products = first[:, :, None] * second[:, None, :]  # (n, 16, 16)
fair = {"first only": score(first, relation),
        "second only": score(second, relation),
        "both pieces": score(crops, relation),
        "products": score(products, relation)}
print({name: f"{value:.2f}" for name, value in fair.items()})

# %%
# now only a rule that compares the pieces is better than guessing
alone = [fair[name] for name in ("first only", "second only", "both pieces")]
assert max(abs(value - 0.25) for value in alone) < 0.06
assert fair["products"] > 0.35

# the first piece keeps 5 pixels from the border, the second is 1 away
pairs, relation, places = crop_pairs(images, 200, rng, **hard)
assert places[:, 1:].min() == 5 and places[:, 1:].max() == 16 - 4 - 5
for pair, r, (i, row, col) in zip(pairs, relation.tolist(), places.tolist()):
    row, col = row + 5 * STEPS[r][0], col + 5 * STEPS[r][1]
    assert torch.equal(pair[1], images[i, row:row + 4, col:col + 4])
one, two = (crop_pairs(images, 9, torch.Generator().manual_seed(1))[0]
            for _ in range(2))
assert torch.equal(one, two)  # it draws from its generator only

# %% [markdown]
# One piece alone is no better than guessing, and neither are both for this linear rule: its sums of pixels are on average the same for all four answers.
# The last rule gets the products of each pixel of the first piece with each pixel of the second, and is clearly better than guessing, though far from perfect: many pairs are all dark or all bright and have no answer.
# To be right it has to use how the two pieces go together, and that was the purpose of the task.

# %% [markdown]
# ## The difference
#
# Unsupervised and self-supervised learning start from the same data.
# What differs is the objective.
# The inertia (1.4.1) has no targets: it compares the data with prototypes of their own.
# The masked word and the pair of pieces have targets, manufactured from the data, and with them the whole machinery of supervised learning applies: losses, test sets, probabilities, and also its controls.

# %% [markdown]
# ## Summary
#
# - Without labels one can ask for prototypes, directions, representations, causes or densities.
# - k-means never raises its inertia, and may still end in a poor arrangement; start it several times.
# - Principal axes are perpendicular directions of largest variance, and the coordinates along them are uncorrelated.
# - Self-supervision makes the labels from the data, mostly by hiding a part and predicting it, so nobody has to write them.
# - A pretext task teaches what it should only if no shortcut solves it; test it with an input that must not suffice.
# - The pretext task is a means; what is kept is the representation, which is fine-tuned with few labels or used as it is.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.4-1
#
# Draw 40 points with standard deviation 0.1 around each of the centres $(0,0)$, $(0,1)$, $(6,0)$, $(6,1)$ and $(3,5)$, and run k-means with $k=5$ from 10 starts.
# Are the final inertias the same?

# %% [markdown]
# #### Solution 1.4-1

# %% [markdown]
# No.
# When two of the first centres fall into one cluster, two other clusters may have to share a centre, and no single step repairs that, since moving a centre across the gap would first make things worse.
# Run it several times and keep the best; or choose starting points that are far from each other, as *k-means++* does.

# %%
rng = torch.Generator().manual_seed(0)
five = torch.tensor([[0.0, 0], [0, 1], [6, 0], [6, 1], [3, 5]])
P = five.repeat_interleave(40, 0) + 0.1 * torch.randn(200, 2, generator=rng)
finals = [kmeans(P, 5, 30, torch.Generator().manual_seed(s))[2][-1]
          for s in range(10)]
print("best", round(min(finals), 1), " worst", round(max(finals), 1))
assert min(finals) < 5 and max(finals) > 15

# %% [markdown]
# ### Exercise 1.4-2
#
# Draw points on a line of slope 2 with some noise.
# What is the first principal axis?

# %% [markdown]
# #### Solution 1.4-2

# %% [markdown]
# The direction of the line, $(1,2)/\sqrt5$, up to its sign and the noise.

# %%
rng = torch.Generator().manual_seed(1)
t = torch.randn(500, generator=rng, dtype=torch.float64)
noise = 0.1 * torch.randn(500, 2, generator=rng, dtype=torch.float64)
line = torch.stack([t, 2 * t], dim=1) + noise
axis = pca(line)[0][0]
axis = axis if axis[0] > 0 else -axis
expected = torch.tensor([1.0, 2.0], dtype=torch.float64) / math.sqrt(5)
assert torch.linalg.vector_norm(axis - expected) < 0.05

# %% [markdown]
# ### Exercise 1.4-3
#
# Predict the *next* word instead of a masked one, again by counts.
# What is easier, and what is harder?

# %% [markdown]
# #### Solution 1.4-3

# %% [markdown]
# Only the left neighbour is known, so the prediction is less certain: after "the" there are four candidates.
# In exchange, the table can write: predict a word, append it, and go on.
# A language model does this with a much longer past.

# %%
def next_word(corpus):
    words = corpus.split()
    counts = {}
    for word, following in zip(words, words[1:]):
        counts.setdefault(word, Counter())[following] += 1
    return {word: {f: n / c.total() for f, n in c.items()}
            for word, c in counts.items()}

following = next_word(corpus)
print("after the:", following["the"])
for probabilities in following.values():
    assert math.isclose(sum(probabilities.values()), 1)
assert len(following["the"]) == 4 and following["sat"] == {"on": 1.0}

# %% [markdown]
# ### Exercise 1.4-4
#
# Invent a pretext task for sound.
# What would a program have to understand to solve it?

# %% [markdown]
# #### Solution 1.4-4

# %% [markdown]
# Some that are used: predict the next hundredth of a second from the last second, which asks for pitch and rhythm; fill a gap of half a second in speech, which asks for words; decide whether two pieces come from the same recording, which asks for the voice and the room; decide whether a piece runs backwards, which asks for how sounds begin and fade.
# A task is bad if it has a shortcut: if recordings differ in their hum, the third is solved by the hum alone, and the program need not learn anything about voices.

# %% [markdown]
# ## Sources
#
# - S. P. Lloyd (1982). Least squares quantization in PCM. [doi:10.1109/TIT.1982.1056489](https://doi.org/10.1109/TIT.1982.1056489): k-means, written in 1957.
# - K. Pearson (1901). On lines and planes of closest fit to systems of points in space. [doi:10.1080/14786440109462720](https://doi.org/10.1080/14786440109462720): principal components.
# - J. Devlin et al. (2019). BERT: pre-training of deep bidirectional Transformers. [arXiv:1810.04805](https://arxiv.org/abs/1810.04805): masked words.
# - C. Doersch, A. Gupta, A. A. Efros (2015). Unsupervised visual representation learning by context prediction. [arXiv:1505.05192](https://arxiv.org/abs/1505.05192): where the second piece lay.
# - T. Mikolov, W. Yih, G. Zweig (2013). Linguistic regularities in continuous space word representations. [aclanthology.org/N13-1090](https://aclanthology.org/N13-1090/): arithmetic with words.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the list of questions.
