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
# Data without labels lie around in any amount.
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
# - manufacture labelled examples from unlabelled pictures.
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
# These are the ones that have names.
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
# Each point is represented by the centre that is nearest.
# How good the centres are is measured by the sum of the squared distances, the *inertia*:
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
    centers, inertia = X[start].clone(), []
    for _ in range(iters):
        distances = torch.cdist(X, centers)  # (n, k)
        labels = distances.argmin(dim=1)     # (n,)
        inertia.append(distances.amin(dim=1).square().sum().item())
        for j in range(k):
            if (labels == j).any():
                centers[j] = X[labels == j].mean(dim=0)
    return centers, labels, inertia

# %%
# check 1.4-C1: the inertia never grows
rng = torch.Generator().manual_seed(2)
true = torch.tensor([[0.0, 0.0], [4.0, 0.5], [2.0, 3.0]])
X = true.repeat_interleave(80, 0) + 0.7 * torch.randn(240, 2, generator=rng)
for seed in range(20):
    *_, inertia = kmeans(X, 3, 15, torch.Generator().manual_seed(seed))
    assert all(b <= a * (1 + 1e-6) for a, b in zip(inertia, inertia[1:]))
print(f"first {inertia[0]:.0f}, last {inertia[-1]:.0f}")

# %% [markdown]
# To watch it work, we take a bad start: three centres, two of which lie in the same cloud.

# %%
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
# **Figure 1.4.1.** k-means at work: points in the colour of their centre, centres as stars.
# Nobody said what the groups are.

# %% [markdown]
# It does not always end so well.
# Each step improves the inertia, and yet the end depends on the start, because there may be several arrangements that no single step improves.
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

# %%
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
# If nobody gives answers, take a part of the data for the question and the rest for the answer.
# The task is invented, a *pretext*; what is wanted is what a program has to understand in order to solve it.
#
# In a text, hide some words and predict them from their surroundings.
# Every page ever written becomes an exercise with a solution.
# To fill in "The capital of France is ___" one needs grammar and a fact.
#
# In a picture, hide a region and paint it from the rest; cut out two pieces and ask how they lay to each other; or change the colours and the crop and ask whether two pictures are versions of one.
#
# The *representation* that is learned on the way, the numbers inside the model, is then *fine-tuned*: trained a little further on the task that one cares about, with few labels.
# This has become the usual way to large models, above all for language (Chapters 11 and 15).

# %% [markdown]
# ### A masked word
#
# Large models use billions of parameters for it; the idea needs a dozen lines.
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

# %%
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
# The program never saw a label, and has found out that cats and dogs do similar things, and so do mats and rugs.

# %% [markdown]
# The table has discovered something like a part of speech.
# Its weakness is just as plain: a context that never occurred has no row, and with five words on either side almost no context ever occurs twice.
# Networks replace the table by a function that treats *similar* contexts alike.

# %% [markdown]
# ### Where does this piece belong?
#
# The second pretext is for pictures.
# Cut out two pieces that touch, the second to the right, to the left, above or below the first, and ask: where was it?
# We need no human, since we know the answer, having used the scissors ourselves.

# %%
RELATIONS = ("right", "left", "below", "above")
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # rows, columns


def jigsaw_pairs(images, n, generator, size=4):
    """`n` pairs of neighbouring crops and where the second one lay.

    `images` has shape (m, h, w). Returns crops (n, 2, size, size), the
    number of the relation (n,), and image, row, column (n, 3).
    """
    crops, relations, places = [], [], []
    m, h, w = images.shape
    while len(crops) < n:
        i, row, col, r = (
            int(torch.randint(0, high, (), generator=generator))
            for high in (m, h - size + 1, w - size + 1, 4))
        row2, col2 = row + size * STEPS[r][0], col + size * STEPS[r][1]
        if not (0 <= row2 <= h - size and 0 <= col2 <= w - size):
            continue  # the neighbour would leave the picture
        pair = [images[i, a:a + size, b:b + size]
                for a, b in ((row, col), (row2, col2))]
        crops.append(torch.stack(pair))
        relations.append(r)
        places.append((i, row, col))
    return torch.stack(crops), torch.tensor(relations), torch.tensor(places)

# %% [markdown]
# Our pictures have $8\times8$ pixels and show a bright disc on a dark ground that gets lighter towards the bottom.

# %%
# check 1.4-C4: as many labelled pairs as asked for, from no labels
rng = torch.Generator().manual_seed(5)
grid = torch.arange(8.0)
cx, cy = 2 + 4 * torch.rand(2, 40, 1, 1, generator=rng)  # (40, 1, 1) each
distance = ((grid - cx) ** 2 + (grid[:, None] - cy) ** 2).sqrt()
images = 0.05 * grid[:, None] + (2.6 - distance).clamp(0, 1) * 0.6
crops, relation, places = jigsaw_pairs(images, 500, rng)
assert crops.shape == (500, 2, 4, 4) and relation.shape == (500,)
assert set(relation.tolist()) == {0, 1, 2, 3}
for pair, r, (i, row, col) in zip(crops, relation.tolist(), places.tolist()):
    row2, col2 = row + 4 * STEPS[r][0], col + 4 * STEPS[r][1]
    assert torch.equal(pair[0], images[i, row:row + 4, col:col + 4])
    assert torch.equal(pair[1], images[i, row2:row2 + 4, col2:col2 + 4])

# %%
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
# To answer it in general, one has to know how discs continue, and that it gets lighter towards the bottom.

# %% [markdown]
# Can the question be answered at all?
# A linear classifier that looks at the $2\times16$ pixels is right far more often than the one time in four that guessing achieves.
# (How it is trained is the subject of [Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb).)

# %%
train, y = jigsaw_pairs(images[:30], 2000, rng)[:2]
test, z = jigsaw_pairs(images[30:], 500, rng)[:2]  # other pictures
W = torch.zeros(33, 4, requires_grad=True)

def with_one(pairs):
    return torch.cat([pairs.flatten(1), torch.ones(len(pairs), 1)], dim=1)

for _ in range(400):
    loss = torch.nn.functional.cross_entropy(with_one(train) @ W, y)
    grad, = torch.autograd.grad(loss, W)
    with torch.no_grad():
        W -= 1.0 * grad
accuracy = (with_one(test) @ W).argmax(dim=1).eq(z).float().mean()
print(f"share of right answers on new pictures: {accuracy:.2f}")
assert accuracy > 0.5

# %% [markdown]
# ## The difference
#
# Unsupervised and self-supervised learning start from the same data.
# What differs is the objective.
# The inertia (1.4.1) has no targets: it compares the data with prototypes of their own.
# The masked word and the jigsaw have targets, manufactured from the data, and with them the whole machinery of supervised learning applies: losses, test sets, probabilities.
# That is the reason for their success.

# %% [markdown]
# ## Summary
#
# - Without labels one can ask for prototypes, directions, representations, causes or densities.
# - k-means lowers its inertia in every step, and may still end in a poor arrangement; start it several times.
# - Principal axes are perpendicular directions of largest variance, and the coordinates along them are uncorrelated.
# - Self-supervision hides a part of the data and predicts it: labels in any number, at no cost.
# - The pretext task is a means; what is kept is the representation, which is fine-tuned with few labels.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.4-1
#
# Draw 40 points with standard deviation 0.1 around each of the centres $(0,0)$, $(0,1)$, $(6,0)$, $(6,1)$ and $(3,5)$, and run k-means with $k=5$ from 10 starts.
# Are the final inertias the same?

# %% [markdown]
# #### Solution 1.4-1
#
# No.
# When two of the first centres fall into one cluster, two others may have to share a centre, and no single step repairs that, since moving a centre across the gap would first make things worse.
# Run it often and keep the best; better still, choose starting points that are far from each other.

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
#
# The direction of the line, $(1,2)/\sqrt5$, up to its sign and the noise.

# %%
rng = torch.Generator().manual_seed(1)
t = torch.randn(500, generator=rng, dtype=torch.float64)
noise = 0.1 * torch.randn(500, 2, generator=rng, dtype=torch.float64)
line = torch.stack([t, 2 * t], dim=1) + noise
axis = pca(line)[0][0]
axis = axis if axis[0] > 0 else -axis
expected = torch.tensor([1.0, 2.0], dtype=torch.float64) / math.sqrt(5)
assert (axis - expected).norm() < 0.05

# %% [markdown]
# ### Exercise 1.4-3
#
# Predict the *next* word instead of a masked one, again by counts.
# What is easier, and what is harder?

# %% [markdown]
# #### Solution 1.4-3
#
# Only the left neighbour is known, so that the prediction is less certain: after "the" there are four candidates.
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
#
# Some that are used: predict the next hundredth of a second from the last second, which asks for pitch and rhythm; fill a gap of half a second in speech, which asks for words; decide whether two pieces come from the same recording, which asks for the voice and the room; decide whether a piece runs backwards, which asks for how sounds begin and fade.
# A task is bad if it has a shortcut: if recordings differ in their hum, the third is solved by the hum alone, and nothing is learned about voices.

# %% [markdown]
# ## Sources
#
# - S. P. Lloyd (1982). Least squares quantization in PCM. [doi:10.1109/TIT.1982.1056489](https://doi.org/10.1109/TIT.1982.1056489): k-means, written in 1957.
# - K. Pearson (1901). On lines and planes of closest fit to systems of points in space. [doi:10.1080/14786440109462720](https://doi.org/10.1080/14786440109462720): principal components.
# - J. Devlin et al. (2019). BERT: pre-training of deep bidirectional Transformers. [arXiv:1810.04805](https://arxiv.org/abs/1810.04805): masked words.
# - C. Doersch, A. Gupta, A. A. Efros (2015). Unsupervised visual representation learning by context prediction. [arXiv:1505.05192](https://arxiv.org/abs/1505.05192): where the second piece lay.
# - T. Mikolov, W. Yih, G. Zweig (2013). Linguistic regularities in continuous space word representations. [aclanthology.org/N13-1090](https://aclanthology.org/N13-1090/): arithmetic with words.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the list of questions.
