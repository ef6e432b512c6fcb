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
# # 11.1 Queries, keys, and values
#
# A recurrent network reads a text of any length, but must keep what it read in a state of fixed size.
# A database does the opposite: it keeps everything and looks up what a question asks for.
# *Attention* is that look-up, made differentiable, so that a network can learn what to ask and where to find it.
# This section builds it from a weighted mean, and finds out what such a mean can and cannot do.
#
# **You will**
#
# - write attention in two lines, and move it between an average and an exact look-up with one number, the temperature;
# - measure how a memory of fixed size fails where a table of pairs, read at a low temperature, does not;
# - derive the gradient of attention, and see at which scores it vanishes;
# - draw attention weights, and know what they do not prove.
#
# **Cost**: a few seconds on a CPU, no download, no use for a GPU.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.modern_cnns import SqueezeExcite  # an exercise

d2l.use_style()

# %% [markdown]
# ## A state that cannot grow
#
# Each step of a recurrent network takes an input of fixed size, and iteration takes care of the length.
# The limit lies elsewhere: when the encoder of [Section 10.7](../10-modern-rnns/07-seq2seq.ipynb) hands over, everything the decoder will ever know of the source is in the state.
# A state of $h$ numbers with $b$ bits each takes at most $2^{hb}$ different values, while there are $V^T$ sources of $T$ tokens from a vocabulary of $V$.
# Once $V^T>2^{hb}$, two sources share a state, and no decoder can tell them apart:

# %%
h, bits, V = 256, 32, 10_000
T = int(h * bits / math.log2(V))
print(f"{h} numbers of {bits} bits cannot tell apart all texts of "
      f"{T + 1} words")
assert V**T <= 2**(h * bits) < V**(T + 1)  # Python's integers are exact

# %% [markdown]
# This bound is generous: to reach it, a network would have to use every bit of its state.
# Bahdanau and others (2014) conjectured that the vector of fixed length was what held translation back, and let the decoder search the source instead.
#
# How does a database avoid the limit?
# It stores *pairs* of a *key* and a *value*, and answers a *query* with the value whose key matches.
# Here the keys are countries and the values their capitals:

# %%
capitals = {"France": "Paris", "Nigeria": "Lagos", "Peru": "Lima"}
query = "Nigeria"
answers = [capitals[query]]
capitals |= {"Nigeria": "Abuja", "Japan": "Tokyo"}  # it moved in 1991
answers.append(capitals[query])
print(query, "->", answers)
assert answers == ["Lagos", "Abuja"] and "Nigera" not in capitals

# %% [markdown]
# Four properties are worth keeping:
#
# - the same query works on a table of three pairs and on one of a million;
# - the same query gets another answer when the content changes;
# - the code is simple, however large the state on which it acts;
# - nothing has to be compressed. The price is that the table grows with every pair; in a Transformer that writes text it is called the *key-value cache* ([Section 11.10](10-small-gpt.ipynb)).
#
# One property is not.
# The misspelled "Nigera" finds nothing: the match is exact or there is none.
# An *approximate* match, "most similar to the query", is what we want (Exercise 11.1-1), and it should change smoothly, since gradient descent has to work on it.

# %% [markdown]
# ## Attention pooling
#
# Let the database be $\mathcal{D}=\{(\mathbf{k}_1,\mathbf{v}_1),\dots,(\mathbf{k}_m,\mathbf{v}_m)\}$.
# *Attention* answers the query $\mathbf{q}$ with a weighted sum of *all* values,
#
# $$\operatorname{Attention}(\mathbf{q},\mathcal{D})=\sum_{i=1}^m\alpha(\mathbf{q},\mathbf{k}_i)\,\mathbf{v}_i. \tag{11.1.1}$$
#
# Here $\mathbf{q}\in\mathbb{R}^d$ is the query, $\mathbf{k}_i\in\mathbb{R}^k$ a key, $\mathbf{v}_i\in\mathbb{R}^v$ its value, $m$ the number of pairs, and the *attention weight* $\alpha(\mathbf{q},\mathbf{k}_i)$ is a number that says how much pair $i$ counts for this query.
# The sum is also called *attention pooling*, as it summarizes the values much as [average pooling](../07-convolutional-neural-networks/05-pooling.ipynb) does, except that the weights depend on the content.
#
# Usually the weights are nonnegative and sum to 1.
# Any positive weights can be divided by their sum; more common is to start from a *score* $a(\mathbf{q},\mathbf{k})$, any real number, and apply softmax over the keys:
#
# $$\alpha(\mathbf{q},\mathbf{k}_i)=\frac{\exp a(\mathbf{q},\mathbf{k}_i)}{\sum_{j=1}^m\exp a(\mathbf{q},\mathbf{k}_j)}, \tag{11.1.2}$$
#
# where $j$ runs over the $m$ keys.
# Which score to use is the subject of [Section 11.3](03-attention-scoring.ipynb); for now a product or a distance will do.
#
# ![Query 1 meets three keys, log 2, 0 and 0. Their products with the query are the scores log 2, 0 and 0. Softmax turns them into the weights one half, one quarter and one quarter. The values 8, 4 and 0, times these weights, add up to 5.](img/qkv-attention.svg)
#
# **Figure 11.1.1.** Attention from left to right, with the numbers of the example below: the query meets every key, and each weight decides how much of its value reaches the sum.

# %% tags=["export"]
def attend(query, keys, values, score):
    """The value (v,) that attention finds, and its weights (m,).

    `query` is (d,), `keys` (m, k), `values` (m, v); `score(query, keys)`
    gives one number for each key, and softmax turns these into weights.
    """
    weights = torch.softmax(score(query, keys), dim=-1)
    return weights @ values, weights

# %% [markdown]
# In the figure, the product is the score.
# The keys $\log 2,0,0$ and the query 1 give the scores $\log 2,0,0$, their exponentials are $2,1,1$, so the weights are $\frac12,\frac14,\frac14$, and $\frac12\cdot8+\frac14\cdot4+\frac14\cdot0=5$.

# %%
def dot(query, keys):
    return keys @ query  # (m, k) @ (k,) -> (m,)

query, keys = torch.tensor([1.0]), torch.tensor([[math.log(2)], [0], [0]])
values = torch.tensor([[8.0], [4.0], [0.0]])
value, weights = attend(query, keys, values, dot)
print("weights", weights.tolist(), "value", value.tolist())
torch.testing.assert_close(weights, torch.tensor([0.5, 0.25, 0.25]))
torch.testing.assert_close(value, torch.tensor([5.0]))

# %% [markdown]
# The weights decide which points attention can reach.
# Four cases, with three values in the plane, the corners of a triangle:

# %%
corners = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])  # (m, v)
cases = {"one weight is 1": [0, 1, 0], "all are 1/m": [1 / 3] * 3,
         "convex": [0.5, 0.25, 0.25], "nonnegative": [0, 1, 1]}
points = {name: torch.tensor(w, dtype=torch.float) @ corners
          for name, w in cases.items()}
for name, point in points.items():
    print(f"{name:15} -> ({point[0]:.2f}, {point[1]:.2f})")

# %%
inside = {name: (p >= 0).all() and p[0] / 4 + p[1] / 3 <= 1
          for name, p in points.items()}
assert [*inside.values()] == [True, True, True, False]
assert torch.equal(points["one weight is 1"], corners[1])
torch.testing.assert_close(points["all are 1/m"], corners.mean(dim=0))

# %% [markdown]
# - Exactly one weight 1 and the others 0: a look-up, as in the dictionary.
# - All weights $\frac1m$: average pooling, whatever the query.
# - Nonnegative weights that sum to 1, the usual case: a *convex combination*, a point of the triangle. The points reachable in this way form the *convex hull* of the values.
# - Nonnegative weights of any sum: a point of the *convex cone* of the values, which contains all their nonnegative multiples and sums of these, and reaches beyond the triangle.
#
# Softmax gives the third kind, with positive weights only, so each output number lies between the smallest and the largest value of its column.

# %%
# check 11.1-C1: weights are convex, and the output stays within the values
rng = torch.Generator().manual_seed(1)
for scale in (0.1, 1, 10):
    q, K = (scale * torch.randn(*s, generator=rng) for s in ((4,), (9, 4)))
    V = torch.randn(9, 3, generator=rng)
    value, weights = attend(q, K, V, dot)
    assert value.shape == (3,) and weights.shape == (9,)
    assert (weights >= 0).all() and abs(weights.sum() - 1) < 1e-6
    assert (value >= V.amin(dim=0) - 1e-6).all()
    assert (value <= V.amax(dim=0) + 1e-6).all()
    expected = sum(math.exp(k @ q - (K @ q).max()) * v for k, v in zip(K, V))
    total = sum(math.exp(k @ q - (K @ q).max()) for k in K)
    torch.testing.assert_close(value, expected / total)

# %% [markdown]
# ## From average to look-up
#
# How sharp should the match be?
# Dividing all scores by a *temperature* $\tau>0$ keeps their order and changes their differences.
# As a score we take half the squared distance, with a minus sign.

# %%
def soft_lookup(query, table, temperature):
    """Value (v,) and weights (m,) for `table`, keys (m, d) and values (m, v).

    The nearest key counts most; the lower the temperature, the more so.
    """
    keys, values = table

    def score(query, keys):
        return -(keys - query).square().sum(dim=-1) / (2 * temperature)

    return attend(query, keys, values, score)

# %% [markdown]
# As the temperature goes to 0, the weight of the pair with the highest score goes to 1; as it grows, the scores become equal and the answer approaches the mean.
# Two keys at the same distance have equal weights.

# %%
# check 11.1-C2: from the exact look-up to the mean
rng = torch.Generator().manual_seed(2)
K, V = torch.randn(8, 3, generator=rng), torch.randn(8, 2, generator=rng)
for key, value in zip(K, V):
    cold, hot = (soft_lookup(key, (K, V), t)[0] for t in (1e-4, 1e8))
    assert torch.equal(cold, value)  # the other weights underflow to 0
    torch.testing.assert_close(hot, V.mean(dim=0), rtol=0, atol=1e-6)
between, _ = soft_lookup((K[0] + K[1]) / 2, (K[:2], V[:2]), 1e-2)
torch.testing.assert_close(between, V[:2].mean(dim=0), rtol=1e-4, atol=1e-4)
same, _ = attend(K[0], K, V, lambda q, K: torch.full((8,), 7.0))
torch.testing.assert_close(same, V.mean(dim=0), rtol=0, atol=1e-6)
weights = soft_lookup(torch.zeros(1), (torch.tensor([[0.0], [2.0]]), V[:2]),
                      temperature=1.0)[1]  # scores 0 and -2
torch.testing.assert_close(weights[0] / weights[1], torch.tensor(math.exp(2)))

# %% tags=["hide-input"]
places = torch.arange(5.0).reshape(5, 1)  # keys 0 to 4
towns = torch.tensor([[0.0, 0.0], [4.0, -0.5], [5.0, 2.5], [2.5, 4.5],
                      [-0.5, 3.0]])  # values
asked = torch.tensor([1.3])
path = torch.stack([soft_lookup(asked, (places, towns), t)[0]
                    for t in torch.logspace(-3, 4, 80).tolist()])
assert (path[0] - towns[1]).norm() < 1e-3  # 1 is the nearest key
assert (path[-1] - towns.mean(dim=0)).norm() < 1e-2


def draw(fig, temperature):
    left, right = fig.subplots(1, 2)
    answer, weights = soft_lookup(asked, (places, towns), temperature)
    left.bar(range(5), weights.tolist())
    left.axvline(asked.item(), color="C1", ls="--", lw=1.5)
    left.set(ylim=(0, 1.05), xlabel="key (dashed: the query)",
             ylabel="attention weight", xticks=range(5))
    right.add_patch(plt.Polygon(towns.numpy(), color="C2", alpha=0.25))
    right.plot(*path.T, "-", color="0.4", lw=1.2)
    right.plot(*towns.T, "s", color="C0")
    right.plot(*answer, "o", color="C1", ms=9)
    for i, (x, y) in enumerate(towns.tolist()):
        right.text(x + 0.2, y + 0.15, str(i))
    right.set(xlim=(-1, 6), ylim=(-1, 5.5), xlabel="first number of value",
              ylabel="second number")


d2l.sliders(draw, """Left, bars: the weights of five keys, highest at key 1,
    the one nearest to the query 1.3. Right: the five values as corners of a
    shaded pentagon, and a curve inside it, from the corner of key 1 to the
    middle, on which a dot marks the answer.""", figsize=(6.0, 2.8),
    temperature=[0.01, 0.03, 0.1, 0.3, 1, 3, 10, 100, 1000])

# %% [markdown]
# **Figure 11.1.2.** Move the temperature: with it the answer (dot) moves along a curve inside the convex hull of the values, from one corner, the exact look-up, to their mean.
#
# The score matters for the look-up.
# With a negative distance no key scores above one that equals the query.
# With a product a *long* key can, even at a low temperature:

# %%
K, V = torch.tensor([[1.0, 0.0], [3.0, 1.0]]), torch.tensor([[1.0], [2.0]])
query = K[0]  # exactly the first key
by_distance, _ = soft_lookup(query, (K, V), 0.01)
by_product, _ = attend(query, K, V, lambda q, K: dot(q, K) / 0.01)
print("by distance", by_distance.item(), " by product", by_product.item())
assert by_distance == V[0] and by_product == V[1]
unit = F.normalize(K, dim=1)  # keys of length 1
torch.testing.assert_close(
    attend(unit[0], unit, V, lambda q, K: dot(q, K) / 0.01),
    soft_lookup(unit[0], (unit, V), 0.01))

# %% [markdown]
# For keys of equal length both scores give the same weights, as the check shows; Section 11.3 returns to it.
#
# ## A set of any size
#
# Nothing in `attend` knows the number of pairs, and no pair has a place: a sum does not depend on the order of its terms.
# The database is a *set*.
# That is an advantage where order means nothing, and a loss where it does, as in a sentence; [Section 11.6](06-self-attention-and-positions.ipynb) puts the positions back.

# %%
# check 11.1-C3: any number of pairs, in any order; the content decides
rng = torch.Generator().manual_seed(3)
q = torch.randn(4, generator=rng)
for m in (1, 10, 1000):
    K, V = (torch.randn(m, n, generator=rng) for n in (4, 3))
    value, weights = attend(q, K, V, dot)
    assert value.shape == (3,) and weights.shape == (m,)
    order = torch.randperm(m, generator=rng)
    again, moved = attend(q, K[order], V[order], dot)
    torch.testing.assert_close(again, value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(moved, weights[order])
    doubled, _ = attend(q, K, 2 * V, dot)  # same query, other content
    torch.testing.assert_close(doubled, 2 * value)

# %% [markdown]
# PyTorch's operator for attention takes any number of queries at once.
# It divides the product by $\sqrt d$ unless told otherwise (Section 11.3 says why), hence `scale=1`:

# %%
Q = torch.randn(5, 4, generator=rng)
ours = torch.stack([attend(q, K, V, dot)[0] for q in Q])  # (5, 3)
torch.testing.assert_close(
    ours, F.scaled_dot_product_attention(Q, K, V, scale=1))
assert ours.shape == (5, 3) and torch.pdist(ours).min() > 0.01

# %% [markdown]
# ### What a fixed state costs
#
# Now compare the table with a state that cannot grow.
# A simple memory of pairs is one matrix, to which each pair adds its outer product, as in Kohonen's correlation matrix memory (1972):
#
# $$\mathbf{S}=\sum_{i=1}^m\mathbf{v}_i\mathbf{k}_i^\top,\qquad \mathbf{S}\,\mathbf{k}_j=\mathbf{v}_j+\sum_{i\ne j}(\mathbf{k}_i^\top\mathbf{k}_j)\,\mathbf{v}_i. \tag{11.1.3}$$
#
# Here $\mathbf{S}\in\mathbb{R}^{v\times d}$ is the memory, and the keys have length 1, so the second formula says what reading with the key $\mathbf{k}_j$ returns: its value and *crosstalk* from all other pairs.
# For random directions $\mathbf{k}_i^\top\mathbf{k}_j$ has mean 0 and variance $\frac1d$.
# With values $\pm1$, the crosstalk in each entry thus has variance $\frac{m-1}d$, and if it is close to normal, a sign comes out right with probability $\Phi(\sqrt{d/(m-1)})$, where $\Phi$ is the distribution function of the normal distribution.
#
# Two other matrices of the same size are controls for the way of writing, computed from all pairs at once.
# One minimizes the squared error of the values; the other is fitted to their signs only, by the loss of logistic regression.
# All three have $32\cdot32$ numbers, as many as a table of 16 pairs; attention at $\tau=0.05$ reads the stored pairs themselves.

# %%
def fit_signs(K, V):
    """The matrix (d, d) that logistic loss fits to the signs V (m, d)."""
    W = torch.zeros(V.shape[1], K.shape[1], dtype=K.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([W], max_iter=60,
                                  line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.softplus(-V * (K @ W.T)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return W.detach()

# %%
def recall(m, seed, d=32, temperature=0.05):
    """Share of signs that four memories return right, and crosstalk."""
    rng = torch.Generator().manual_seed(seed)
    K = torch.randn(m, d, generator=rng, dtype=torch.float64)
    K = F.normalize(K, dim=1)
    V = 2.0 * torch.randint(2, (m, d), generator=rng).double() - 1
    added = V.T @ K  # (d, d): the sum of outer products
    fitted = V.T @ torch.linalg.pinv(K).T  # least squares
    signs = fit_signs(K, V)
    stored = torch.stack([soft_lookup(k, (K, V), temperature)[0] for k in K])
    shares = [(answer * V > 0).double().mean().item()
              for answer in (K @ added.T, K @ fitted.T, K @ signs.T, stored)]
    return *shares, (K @ added.T - V).square().mean().item()

sizes = [4, 8, 16, 32, 48, 64, 128, 256]
results = torch.tensor([[recall(m, seed) for m in sizes]
                        for seed in range(3)])  # (seed, size, 5)
shares, noise = results[..., :4], results[..., 4].mean(dim=0)

# %%
names = ["matrix, added up", "matrix, least squares",
         "matrix, logistic loss", "table of pairs"]
ax = d2l.plot(sizes, shares.mean(dim=0).T, names, xscale="log",
              xlabel="pairs stored $m$", ylabel="share of signs right",
              fmts=["-", "--", ":", "-."], ylim=(0.55, 1.03))
for i in range(4):
    for share in shares[:, :, i]:
        ax.plot(sizes, share, "o", ms=3, color=f"C{i}")
for m in (32, 64):
    ax.axvline(m, color="0.5", lw=1)
ax.set_xticks(sizes, labels=sizes)
ax.minorticks_off()
d2l.describe(ax, """Four curves over the number of stored pairs, 4 to 256.
    The table stays at 1. The least-squares matrix stays at 1 up to 32 pairs,
    the one of logistic loss up to 48; then both fall to about 0.65. The added
    matrix falls from the start and ends close to them.""")

# %% [markdown]
# **Figure 11.1.3.** Signs read correctly from four memories, each asked with its own keys of 32 numbers; lines are means of three seeds, which are drawn as dots.
# Vertical lines: as many pairs as a key has numbers, and twice as many.

# %%
added, fitted, signs, stored = shares.mean(dim=0).T  # (size,) each
assert (stored == 1).all()
full, twice = sizes.index(32), sizes.index(64)
assert (fitted[:full + 1] == 1).all() and (fitted[full + 1:] < 0.94).all()
assert (signs[:twice] > 0.99).all() and (signs[twice:] < 0.95).all()
assert (signs[full + 1:] - fitted[full + 1:]).min() > -0.005
assert signs[-1] - added[-1] < 0.03  # no great difference at 256 pairs
warm = recall(256, seed=0, temperature=1.0)[3]  # the table
print(f"table of 256 pairs at temperature 1: {warm:.2f}")
assert 0.5 < warm < shares[0, -1, :3].min() - 0.02  # the same pairs
assert (added.diff() < 0).all() and added[full] < 0.9
crosstalk = (torch.tensor(sizes) - 1) / 32  # variance
assert (noise / crosstalk - 1)[full:].abs().max() < 0.1
predicted = torch.special.ndtr(crosstalk.rsqrt())
assert (added - predicted).abs().max() < 0.02
assert not torch.equal(shares[0], shares[1])

# %% [markdown]
# The added matrix follows the formula.
# Least squares returns the values up to $m=d$ pairs, as many as there can be independent keys, and errs beyond, where no matrix returns random values exactly.
# It is tempting to call $d$ pairs the capacity of the matrix, but for the signs this limit belongs to the way of writing: fitted to them alone, a matrix of the same size makes hardly an error with 48 pairs.
#
# How far can that go?
# Each row of the matrix is a linear classifier of the $m$ keys.
# For keys in *general position*, any $d$ of them independent, as random keys almost surely are, the number of sign patterns that such a row can produce is known from combinatorial geometry (Cover, 1965): $2\sum_{k=0}^{d-1}\binom{m-1}{k}$ of all $2^m$.

# %%
def share_of_patterns(m, d=32):
    """Share of the sign patterns of m keys that a row of d numbers has."""
    return sum(math.comb(m - 1, k) for k in range(d)) / 2**(m - 1)

counted = [share_of_patterns(m) for m in sizes]
print(*(f"{m}: {share:.3f}" for m, share in zip(sizes, counted)))
assert counted[:full + 1] == [1] * (full + 1) and counted[twice] == 0.5
assert counted[sizes.index(48)] > 0.98 and counted[twice + 1] < 1e-6
four = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])  # keys
angles = torch.arange(0.05, 2 * math.pi, 0.1)
rows = torch.stack((angles.cos(), angles.sin()))  # all directions, d = 2
patterns = {tuple(p) for p in (four @ rows > 0).T.tolist()}
assert len(patterns) / 2**4 == share_of_patterns(4, d=2)

# %% [markdown]
# At $m=2d$ it is one half, so 32 rows produce the wanted signs with probability $2^{-32}$: from $2d$ random pairs on, errors are almost certain, however the matrix is fitted.
#
# The table returned every sign in this experiment, provided that the temperature was low: at $\tau=1$, the same 256 pairs were read less well from it than from the matrices.
# It also holds 16 times as many numbers as a matrix when $m=256$, and each look-up passes over all of them.
# These are linear memories; other fixed states may use their numbers better, within the bound of $2^{hb}$ states.
#
# The trade is a current one.
# Linear attention and state-space layers keep a state of fixed size.
# Jelassi and others (2024) prove that such a state limits copying, and find that pretrained models of this kind retrieve from their context less well than Transformers.
# Several recent language models combine both kinds of layers (Bae and others, 2025).

# %% [markdown]
# ## What a mean cannot do
#
# A convex combination never leaves the convex hull of its values.
# In regression the query is the place where we want a prediction, the keys are the places already observed and the values the targets observed there.
# Let the targets lie exactly on a line:

# %%
x = torch.arange(0, 4.01, 0.25).reshape(-1, 1)  # keys (17, 1)
y = 2 * x + 1  # values (17, 1), from 1 to 9
x_new = torch.arange(-2, 6.01, 0.1).reshape(-1, 1)
pooled = {t: torch.cat([soft_lookup(q, (x, y), t)[0] for q in x_new])
          for t in (0.05, 1.0)}
design = torch.cat((x, torch.ones_like(x)), dim=1)  # (17, 2)
line = torch.cat((x_new, torch.ones_like(x_new)), dim=1) @ (
    torch.linalg.lstsq(design, y).solution)  # (81, 1)

# %%
ax = d2l.plot(x_new[:, 0], [line[:, 0], *pooled.values()],
              ["fitted line", *(rf"attention, $\tau={t:g}$" for t in pooled)],
              xlabel="query $x$", ylabel="prediction")
ax.plot(x, y, "o", ms=4, color="0.3")
ax.axhspan(y.min().item(), y.max().item(), color="C2", alpha=0.2)
d2l.describe(ax, """Points on a rising line between 0 and 4. The fitted line
    goes on in both directions. The attention curve of the lower temperature
    follows the points and becomes level outside, at 1 and at 9, the limits of
    a shaded band; the other is flatter, and stays within the band too.""")

# %% [markdown]
# **Figure 11.1.4.** Attention as regression: outside the range of the keys, too, its predictions stay within the band of observed targets.

# %%
truth = 2 * x_new + 1
torch.testing.assert_close(line, truth, rtol=0, atol=1e-4)
for curve in pooled.values():
    assert curve.min() >= y.min() - 1e-5 and curve.max() <= y.max() + 1e-5
    assert truth[-1] - curve[-1] >= 4 - 1e-4  # 13, but at most 9
    assert curve[0] - truth[0] >= 4 - 1e-4  # -3, but at least 1
middle = (x_new[:, 0] > 1) & (x_new[:, 0] < 3)
assert (pooled[0.05] - truth[:, 0])[middle].abs().max() < 0.1

# %% [markdown]
# No score and no temperature would help, as the hull does not depend on them.
# A network can still go further: it computes the values with learned maps, and the pooled value passes through further layers, which may leave the hull of what they are given.
# Regression with such weights is the subject of [Section 11.2](02-attention-pooling.ipynb).

# %% [markdown]
# ## Learning where to look
#
# Why take a mean of all values when we want one?
# *Hard attention* returns the value with the highest score only.
# Its output jumps from value to value and is constant in between, so the query gets no gradient:

# %%
q = torch.tensor([0.3, -0.2], requires_grad=True)
K, V = torch.eye(2), torch.tensor([[1.0], [2.0]])
hard = V[dot(q, K).argmax()]
soft, weights = attend(q, K, V, dot)
print("gradient reaches the query: hard", hard.requires_grad,
      "- soft", soft.requires_grad)
assert hard == V[0] and not hard.requires_grad and soft.requires_grad
assert torch.autograd.grad(soft, q)[0].abs().min() > 0.1

# %% [markdown]
# Mnih and others (2014) trained a model that chooses where to look by reinforcement learning.
# The Gumbel-softmax of Jang and others (2016) is an alternative, which replaces the draw by a smooth approximation.
# The soft weights of equation (11.1.2) need neither.
#
# What is their gradient?
# Take the product as the score and write $p_i$ for the weight of key $i$ and $\bar{\mathbf{k}}=\sum_ip_i\mathbf{k}_i$.
# Since $\log p_i=\mathbf{q}^\top\mathbf{k}_i-\log\sum_j\exp(\mathbf{q}^\top\mathbf{k}_j)$, we have $\partial p_i/\partial\mathbf{q}=p_i(\mathbf{k}_i-\bar{\mathbf{k}})$, and with $\mathbf{v}_i=\mathbf{k}_i$
#
# $$\frac{\partial}{\partial\mathbf{q}}\sum_{i=1}^mp_i\mathbf{k}_i=\sum_{i=1}^mp_i\,\mathbf{k}_i(\mathbf{k}_i-\bar{\mathbf{k}})^\top=\operatorname{Cov}_{p}[\mathbf{k}]. \tag{11.1.4}$$
#
# The Jacobian, of shape $(d,d)$, is the covariance matrix of the keys under the attention weights.
# Keys $\pm1$ make it concrete: the output is $\tanh q$, and its derivative $1-\tanh^2q$ is the variance, 1 at $q=0$ and tiny for a large $|q|$.

# %%
# check 11.1-C4: the Jacobian is the covariance of the keys
rng = torch.Generator().manual_seed(4)
q, K = (torch.randn(*s, generator=rng, dtype=torch.float64)
        for s in ((3,), (6, 3)))
mean, p = attend(q, K, K, dot)
cov = sum(w * torch.outer(k - mean, k - mean) for w, k in zip(p, K))
jacobian = torch.func.jacrev(lambda q: attend(q, K, K, dot)[0])
torch.testing.assert_close(jacobian(q), cov, rtol=0, atol=1e-10)
large = [jacobian(s * q).abs().max().item() for s in (1, 10, 1000)]
print("largest entry for q, 10 q, 1000 q:", *(f"{v:.1e}" for v in large))
assert large[0] > 0.1 and large[1] < 0.1 * large[0] and large[2] < 1e-20
two = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
torch.testing.assert_close(attend(q[:1], two, two, dot)[0], q[:1].tanh())

# %% [markdown]
# Where one weight takes all, there is no variance left, and no gradient.
# It is often said that the gradient of softmax never vanishes, because an exponential is positive.
# We measure it, for the scores $s\cdot(1,0,-1)$: the largest of the nine derivatives of a weight with respect to a score.

# %%
def largest_gradient(s, dtype):
    """Largest derivative of softmax at the scores s (1, 0, -1)."""
    scores = s * torch.tensor([1, 0, -1], dtype=dtype)
    jacobian = torch.func.jacrev(lambda a: torch.softmax(a, dim=-1))(scores)
    return jacobian.max().item()

spreads = [2**i for i in range(11)]  # 1 to 1024
single, double = ([largest_gradient(s, dtype) for s in spreads]
                  for dtype in (torch.float32, torch.float64))
zeros = [next(s for s, g in zip(spreads, gradients) if g == 0)
         for gradients in (single, double)]
print(f"exactly 0 at s = {zeros[0]} (single), {zeros[1]} (double precision)")

# %%
# check 11.1-C5: the largest gradient falls like exp(-s), then it is 0
measured = [largest_gradient(s, torch.float64) for s in (1, 10, 100)]
assert abs(measured[0] - 0.22) < 0.005
assert abs(measured[1] - 4.5e-5) < 0.05e-5
assert 0 < measured[2] < 1e-40
for s, gradient in zip(spreads[3:10], double[3:10], strict=True):
    assert math.isclose(gradient, math.exp(-s), rel_tol=1e-3)
assert zeros == [128, 1024] and single[-1] == 0
scores = 128 * torch.tensor([1.0, 0.0, -1.0])
slope = torch.func.grad(F.cross_entropy)(scores, torch.tensor(2))
assert abs(slope.abs().max() - 1) < 1e-6  # with a logarithm

# %%
shown = [[g if g > 0 else math.nan for g in v] for v in (double, single)]
ax = d2l.plot(spreads, shown, ["double precision", "single precision"],
              fmts=["o-", "s--"], xscale="log", yscale="log",
              xlabel="scale of the scores $s$", ylabel="largest gradient")
d2l.describe(ax, """Two curves that fall ever more steeply from 0.2. The one
    in single precision ends after s = 64 near 1e-28, the one in double
    precision after s = 512 near 1e-222.""")

# %% [markdown]
# **Figure 11.1.5.** The largest derivative of softmax for the scores $s\cdot(1,0,-1)$; a curve ends where the next measured gradient is exactly zero.
#
# In exact arithmetic the gradient is positive, of the size $e^{-s}$; in floating-point numbers it underflows.
# Already at $s=16$ it is near $10^{-7}$.
# A classifier is spared, because its loss takes the logarithm of softmax: on the same scores, a wrong answer still gets a gradient of size 1.
# Inside attention no logarithm follows.
# Where one score leads by far, hardly any gradient is left that could move the weights; Vaswani and others (2017) suspected this effect for products of vectors with many entries, and scaled them by $1/\sqrt d$ (Section 11.3).

# %% [markdown]
# ## Looking at the weights
#
# For several queries the weights form a matrix (queries, keys), which a heat map shows at a glance.
# Later sections have several such matrices, for layers and heads, so the function takes them as a grid of shape (rows, columns, queries, keys), with one colour scale for all.

# %% tags=["export"]
def show_heatmaps(matrices, xlabel="", ylabel="", titles=None, figsize=None,
                  cmap="Reds"):
    """Draw matrices (rows, cols, queries, keys) in a grid, one scale.

    `titles` has one title for each column. Returns the array of axes.
    """
    matrices = torch.as_tensor(matrices).detach().float().cpu()
    rows, cols = matrices.shape[:2]
    fig, axes = plt.subplots(
        rows, cols, figsize=figsize or (2.4 * cols, 2.4 * rows),
        sharex=True, sharey=True, squeeze=False, layout="constrained")
    low, high = matrices.min().item(), matrices.max().item()
    for i, row in enumerate(matrices):
        for j, matrix in enumerate(row):
            image = axes[i, j].imshow(matrix.numpy(), cmap=cmap,
                                      vmin=low, vmax=high)
            axes[i, j].grid(False)
            axes[i, j].locator_params(integer=True)
            if i == rows - 1:
                axes[i, j].set_xlabel(xlabel)
            if j == 0:
                axes[i, j].set_ylabel(ylabel)
            if titles is not None and i == 0:
                axes[i, j].set_title(titles[j])
    fig.colorbar(image, ax=axes, shrink=0.6)
    return axes

# %% [markdown]
# If each query finds its own key and nothing else, the weights are the identity matrix:

# %%
# check 11.1-C6: one image of ten by ten cells
identity = torch.eye(10).reshape(1, 1, 10, 10)
axes = show_heatmaps(identity, xlabel="keys", ylabel="queries",
                     figsize=(2.8, 2.4))
assert axes.shape == (1, 1) and len(axes[0, 0].images) == 1
drawn = torch.from_numpy(axes[0, 0].images[0].get_array().data)
assert torch.equal(drawn, torch.eye(10))
d2l.describe(axes, """A ten by ten grid, dark on the diagonal from the upper
    left to the lower right, white elsewhere.""")

# %% [markdown]
# **Figure 11.1.6.** Attention as exact look-up: a row for each query, a column for each key, and all weight on the diagonal.
#
# `soft_lookup` comes close to it at a low temperature.
# Ten places on a line serve as queries and as keys:

# %%
places = torch.arange(10.0).reshape(10, 1)
temperatures = [0.05, 1.0, 200.0]
maps = torch.stack([
    torch.stack([soft_lookup(q, (places, places), t)[1] for q in places])
    for t in temperatures])[None]  # (1, 3, 10, 10)
axes = show_heatmaps(maps, xlabel="keys", ylabel="queries",
                     titles=[rf"$\tau={t:g}$" for t in temperatures])
d2l.describe(axes, """Three heat maps of ten by ten cells: a sharp diagonal, a
    broad one that is darker at its ends, and an even pale tint.""")

# %%
torch.testing.assert_close(maps.sum(dim=-1), torch.ones(1, 3, 10))
torch.testing.assert_close(maps[0, 0], torch.eye(10), rtol=0, atol=1e-3)
assert (maps[0, 1].argmax(dim=1) == torch.arange(10)).all()
assert maps[0, 1, 0, 0] > 1.2 * maps[0, 1, 5, 5]  # fewer neighbours
assert (maps[0, 2] - 0.1).abs().max() < 0.02
assert (maps[0, 1] - maps[0, 1].T).abs().max() > 0.05

# %% [markdown]
# **Figure 11.1.7.** The same queries and keys at three temperatures.
# Each row sums to 1; at $\tau=1$ the ends of the diagonal are darker, as these queries have close keys on one side only.

# %% tags=["hide-input"]
# check: what the docstring of show_heatmaps promises
grid = torch.arange(1.0, 25.0, requires_grad=True).reshape(2, 3, 2, 2)
axes = show_heatmaps(grid, "keys", "queries", titles=["a", "b", "c"])
fig = axes[0, 0].get_figure()
assert axes.shape == (2, 3)
assert fig.get_size_inches().tolist() == [2.4 * 3, 2.4 * 2]
for ax, matrix in zip(axes.flat, grid.detach().flatten(0, 1)):
    assert ax.images[0].get_clim() == (1, 24)  # one scale
    assert (ax.images[0].get_array().data == matrix.numpy()).all()
    assert ax.images[0].get_cmap().name == "Reds"
    assert not any(line.get_visible() for line in ax.get_xgridlines())
    assert ax.get_shared_x_axes().joined(ax, axes[0, 0])
    assert ax.get_shared_y_axes().joined(ax, axes[0, 0])
assert [[ax.get_xlabel() for ax in row] for row in axes] == [
    [""] * 3, ["keys"] * 3]
assert [[ax.get_ylabel() for ax in row] for row in axes] == [
    ["queries", "", ""]] * 2
assert [[ax.get_title() for ax in row] for row in axes] == [
    ["a", "b", "c"], [""] * 3]
assert len(fig.axes) == 7  # the scale is the seventh
plt.close(fig)
half = grid[:1].to(torch.bfloat16)
axes = show_heatmaps(half, figsize=(9, 5), cmap="Blues")
fig = axes[0, 0].get_figure()
assert fig.get_size_inches().tolist() == [9, 5]
fig.canvas.draw()  # the ticks depend on the size of the axes
assert not any(t % 1 for t in axes[0, 0].get_xticks())
assert fig.axes[0].images[0].get_cmap().name == "Blues"
plt.close(fig)

# %% [markdown]
# ### What a heat map does not prove
#
# It is tempting to read a dark cell as "the model used this".
# But the output depends on the weights through the sum only, and different weights can have the same sum.
# Eight values on a circle give an example:

# %%
angles = torch.arange(8) * (2 * math.pi / 8)
V = torch.stack((angles.cos(), angles.sin()), dim=1)  # (8, 2)
even = torch.full((8,), 1 / 8)
opposite = torch.zeros(8)
opposite[[1, 5]] = 1 / 2
moved = (even - opposite).abs().sum() / 2  # share of the weight
print(f"{moved:.0%} of the weight moved, the output did not")
for weights in (even, opposite):  # both give the centre of the circle
    torch.testing.assert_close(weights @ V, torch.zeros(2), rtol=0, atol=1e-6)
assert moved == 0.75

# %% [markdown]
# This is not an accident of the circle.
# The output and the sum of the weights are $v+1$ linear functions of $m$ weights.
# With $m>v+1$ pairs, positive weights can therefore be changed in some direction without a change of the output; with at most $v+1$ values in general position, such as the corners of the triangle above, the output determines the weights.

# %%
def free_directions(values):
    """Dimension of the changes of the weights that the output hides."""
    both = torch.cat((values, torch.ones(len(values), 1)), dim=1)
    return len(values) - torch.linalg.matrix_rank(both).item()

print("free directions: circle", free_directions(V),
      "- triangle", free_directions(corners))
assert free_directions(V) == 5 and free_directions(corners) == 0

# %% [markdown]
# Brunner and others (2020) showed that the weights of a Transformer are not determined by the output for sequences longer than the dimension of a head.
# Weights that come from queries and keys leave fewer alternatives, but still need not be unique (Bhardwaj and others, 2021).
# In trained text classifiers, Jain and Wallace (2019) found weights that were frequently uncorrelated with gradient-based measures of importance, and very different weights with equivalent predictions.
# Wiegreffe and Pinter (2019) replied that the verdict depends on what counts as an explanation, and that the weights cannot be judged apart from the model that produced them.
# Heat maps give ideas, then; an experiment has to test them.
#
# ## Where the words come from
#
# The vocabulary came together over several years.
# Graves (2013) let a network that produces handwriting slide a soft window over the text, neural Turing machines (2014) read their memory by the similarity of its content to a key, Bahdanau and others (2014) searched the source in translation, key-value memory networks (2016) encoded what is matched and what is returned in different ways, and Vaswani and others (2017) described attention as a map from a query and a set of key-value pairs to an output.

# %% [markdown]
# ## Summary
#
# - Attention answers a query with a sum of all values, weighted by how well each key matches; softmax of a score makes the weights positive with sum 1.
# - One temperature leads from average pooling to the exact look-up, provided that the right key has the highest score.
# - The table of pairs grows with the text. A matrix of $d\times d$ numbers returned random signs without error up to $d$ pairs by least squares and further by logistic loss, but from $2d$ pairs on almost certainly errs.
# - The output stays in the convex hull of the values, so attention alone cannot predict beyond their range.
# - With products as scores and the keys as values, the Jacobian is the covariance of the keys; it vanishes as softmax saturates, and softmax gradients underflow to exactly zero.
# - A heat map shows the weights; with more than $v+1$ pairs other weights give the same output, so it is no explanation by itself.

# %% [markdown]
# ## Exercises
#
# ### Exercise 11.1-1
#
# Design an attention function for approximate string match: it should find the country in spite of a spelling mistake.
# What does it answer when nothing is similar?

# %% [markdown]
# #### Solution 11.1-1

# %% [markdown]
# A string becomes the vector of its pairs of neighbouring letters, of which a mistake changes few.
# Keys and queries are scaled to length 1, so the product is the cosine of the angle between them, and a key equal to the query wins.

# %%
def pairs_of_letters(word):
    """Counts of letter pairs, scaled to length 1, shape (676,)."""
    counts = torch.zeros(26, 26)
    letters = [ord(letter) - ord("a") for letter in word.lower()]
    for first, second in zip(letters, letters[1:]):
        counts[first, second] += 1
    return F.normalize(counts.flatten(), dim=0)

countries = ["France", "Germany", "Italy", "Spain", "Poland", "Portugal",
             "Iceland", "Ireland", "Austria", "Australia"]
keys = torch.stack([pairs_of_letters(name) for name in countries])

def find(word, temperature=0.1):
    """Weights (10,) of the countries."""
    return attend(pairs_of_letters(word), keys, torch.eye(10),
                  lambda q, K: dot(q, K) / temperature)[0]

# %%
mistakes = ["Frence", "Germny", "Itally", "Spian", "Polnad", "Portugl",
            "Icelend", "Irland", "Austira", "Autsralia"]
found = [countries[find(word).argmax()] for word in mistakes]
print(*(f"{word}: {name}" for word, name in zip(mistakes, found)), sep=", ")
wrong = [pair for pair in zip(found, countries) if pair[0] != pair[1]]
assert wrong == [("Australia", "Austria")]
assert [countries[find(name).argmax()] for name in countries] == countries
assert find("Poland", 0.01).max() > 0.999 > find("Poland", 1.0).max()
torch.testing.assert_close(keys.square().sum(dim=1), torch.ones(10))
torch.testing.assert_close(find("xyz"), torch.full((10,), 0.1))

# %% [markdown]
# Nine of the ten mistakes are corrected; "Austira" shares more with "Australia" than with the country meant.
# A word without any similar key, "xyz", gets equal weights: softmax knows no "not found", and the answer is the mean of all values.

# %% [markdown]
# ### Exercise 11.1-2
#
# Prove (11.1.4) by way of the function $Z(\mathbf{q})=\log\sum_i\exp(\mathbf{q}^\top\mathbf{k}_i)$.
# What replaces it if the values are not the keys, and if the scores are divided by $\tau$?

# %% [markdown]
# #### Solution 11.1-2

# %% [markdown]
# The gradient of $Z$ is $\sum_ip_i\mathbf{k}_i$, which is the output of attention with the keys as values.
# So its Jacobian is the Hessian of $Z$.
# Differentiating $p_i=\exp(\mathbf{q}^\top\mathbf{k}_i-Z)$ gives $\nabla p_i=p_i(\mathbf{k}_i-\nabla Z)=p_i(\mathbf{k}_i-\bar{\mathbf{k}})$, and the Hessian is $\sum_ip_i\mathbf{k}_i(\mathbf{k}_i-\bar{\mathbf{k}})^\top$.
# Because $\sum_ip_i(\mathbf{k}_i-\bar{\mathbf{k}})=\mathbf{0}$, we may subtract $\bar{\mathbf{k}}$ from the first factor as well, which gives the covariance.
# As a covariance it is symmetric and has no negative eigenvalue; in other words, $Z$ is convex.
#
# For other values the same steps give $\sum_ip_i(\mathbf{v}_i-\bar{\mathbf{v}})(\mathbf{k}_i-\bar{\mathbf{k}})^\top$ with $\bar{\mathbf{v}}=\sum_ip_i\mathbf{v}_i$, the covariance of values and keys.
# With a temperature, $\mathbf{q}$ enters as $\mathbf{q}/\tau$, and the Jacobian is the covariance, under the weights of that temperature, divided by $\tau$.

# %%
rng = torch.Generator().manual_seed(12)
q, K, V = (torch.randn(*s, generator=rng, dtype=torch.float64)
           for s in ((3,), (7, 3), (7, 2)))
hessian = torch.func.hessian(lambda q: (K @ q).logsumexp(dim=0))(q)
by_output = torch.func.jacrev(lambda q: attend(q, K, K, dot)[0])(q)
torch.testing.assert_close(by_output, hessian, rtol=0, atol=1e-10)
assert torch.linalg.eigvalsh(hessian).min() > 0
for tau in (0.5, 1.0, 3.0):
    def cooled(q):
        return attend(q, K, V, lambda q, K: dot(q, K) / tau)
    mean, p = cooled(q)
    cov = (p[:, None] * (V - mean)).T @ (K - p @ K) / tau  # (2, 3)
    found = torch.func.jacrev(lambda q: cooled(q)[0])(q)
    torch.testing.assert_close(found, cov, rtol=0, atol=1e-10)

# %% [markdown]
# ### Exercise 11.1-3
#
# Build a differentiable search engine over 20 sentences, with bags of words as keys.
# Queries with many small words often find the wrong sentence.
# Use the gradient: learn a weight for each word from ten queries with known answers, and test it on ten others.

# %% [markdown]
# #### Solution 11.1-3

# %% [markdown]
# The score is the cosine between the weighted bags, divided by a temperature.
# The values are the one-hot vectors of the sentences, so the output is a distribution over sentences, and its cross-entropy trains the logarithms of the word weights.

# %% tags=["hide-input"]
sentences = """the cat sleeps on the warm sofa
a dog chases the ball in the park
rain falls on the roof of the house
the chef cooks a spicy soup
a pianist plays in the concert hall
the train leaves the station at noon
snow covers the mountain in winter
a farmer milks the cows at dawn
the painter mixes red and blue
a pilot lands the plane in fog
the baker sells fresh bread
a doctor visits the sick child
the judge reads the long verdict
a sailor repairs the torn sail
the gardener waters the roses
a student writes an essay on whales
the river floods the old mill
a spider spins a silver web
the clock in the tower strikes ten
a tailor sews the wedding dress""".splitlines()
questions = """what is the cat on
who chases in the park
the roof in the rain
what is in the soup of the chef
where in the hall is the concert
at what time is the train on the way
what is on the mountain in the winter
the cows on the farm at the time of dawn
the red in the picture of the painter
the plane in the fog on the runway
where on the street is the bread in the shop
is the child in the hospital on the mend
the verdict in the case on the table
the sail of the boat in the storm
the roses in the garden on the hill
the essay in the journal on the table
the mill on the bank in the valley
the web in the corner of the roof
the clock on the wall in the hall
the dress on the rack in the shop""".splitlines()

# %%
words = sorted(set(" ".join(sentences).split()))

def bag(text):
    """How often each known word occurs, shape (words,)."""
    return torch.tensor([float(text.split().count(w)) for w in words])

keys = torch.stack([bag(s) for s in sentences])
queries = torch.stack([bag(s) for s in questions])

def search(query, log_weights):
    """Probabilities (20,) of the sentences."""
    w = log_weights.exp()
    return attend(query, keys, torch.eye(20), lambda q, K: (
        F.cosine_similarity(q * w, K * w, dim=-1) / 0.1))[0]

def hits(log_weights):
    """Right answers among the first ten questions and among the others."""
    right = torch.tensor([search(q, log_weights).argmax() == i
                          for i, q in enumerate(queries)])
    return right[:10].sum().item(), right[10:].sum().item()

# %%
log_weights = torch.zeros(len(words), requires_grad=True)
before = hits(log_weights)
optimizer = torch.optim.Adam([log_weights], lr=0.1)
for _ in range(20):
    optimizer.zero_grad()
    loss = -sum(search(queries[i], log_weights)[i].log() for i in range(10))
    loss.backward()
    optimizer.step()
after = hits(log_weights)
lightest = [words[i] for i in log_weights.argsort()[:3]]
print(f"right of 10 and 10: before {before}, after {after}; "
      f"lightest words {sorted(lightest)}")
assert before[0] <= 7 and before[1] <= 5 and after[0] == 10 and after[1] >= 7
assert {"the", "in"} <= set(lightest)
for word in ("the", "in"):
    assert sum(word in q.split() for q in questions) > 15

# %% [markdown]
# The training questions are all answered, and on the ten others, which ask for sentences that no training question asked for, the hits rise too.
# Among the lightest words are "the" and "in", which most questions contain.

# %% [markdown]
# ### Exercise 11.1-4
#
# The squeeze-and-excitation block of [Section 8.8](../08-modern-cnns/08-cnn-design.ipynb) multiplies each channel of an image by a number between 0 and 1, which it computes from the means of all channels.
# Write it as attention over channels.
# Which of the properties of this section does it have?

# %% [markdown]
# #### Solution 11.1-4

# %% [markdown]
# The values are the $c$ channels, flattened to vectors of $hw$ numbers, and there is one query for each channel.
# Query $i$ gives the weight $s_i$ to channel $i$ and 0 to the others, so the matrix of weights is $\operatorname{diag}(\mathbf{s})$.
# The weights are nonnegative but do not sum to 1: each output is in the convex cone of the values, a multiple of its own channel, and nothing is pooled.
# The weight is found by no match of a query with keys but by a network with a unit for each channel, so the number of channels is fixed, and their order matters, unlike the order of pairs in check C3.
# Of attention it has the weights that depend on the content.

# %%
torch.manual_seed(14)
block, X = SqueezeExcite(8, 2), torch.rand(1, 8, 5, 6)
gates = block.weights(X.mean(dim=(2, 3)))[0]  # (8,)
out, flipped = block(X), block(X.flip(1)).flip(1)
print("weights:", *(f"{g:.3f}" for g in gates.tolist()))
pooled = torch.diag(gates) @ X[0].flatten(1)  # (8, 8) @ (8, 30)
torch.testing.assert_close(out[0].flatten(1), pooled)
assert (gates > 0).all() and (gates < 1).all()
assert (out - flipped).abs().max() > 0.01  # the order of channels matters

# %% [markdown]
# ### Exercise 11.1-5
#
# *Top-k attention* keeps the $k$ highest scores and applies softmax to these alone.
# What is its gradient with respect to the scores, where does its output jump, and how far can that output be from that of full attention?

# %% [markdown]
# #### Solution 11.1-5

# %% [markdown]
# While the selection stays the same, it is ordinary attention on $k$ pairs.
# The scores kept get the gradient of their softmax, and the scores dropped get exactly zero, so a dropped pair gets no signal of its own: it returns only if parameters that it shares with others, or a fall of the others, happen to lift it among the first $k$.
# Where the $k$-th and the next score change places, their pairs have equal scores and different values: the output jumps.
# For $k=m$ it is full attention, for $k=1$ the look-up, whose gradient is zero.
#
# Let $\rho$ be the total weight of the dropped pairs in full attention.
# The full output is $(1-\rho)$ times the top-k output plus $\rho$ times a mean of the dropped values, so the two outputs differ by at most $\rho$ times the diameter of the set of values.

# %%
def top_k(scores, values, k):
    """Softmax over the k highest of the scores (m,), pooled values (v,)."""
    kept = scores.topk(k).indices
    return torch.softmax(scores[kept], dim=0) @ values[kept]

rng = torch.Generator().manual_seed(15)
scores = torch.randn(12, generator=rng, dtype=torch.float64)
V = torch.randn(12, 3, generator=rng, dtype=torch.float64)
ordered = scores.argsort(descending=True)
p, diameter = torch.softmax(scores, dim=0), torch.cdist(V, V).max()
for k in (1, 4, 12):
    gradient = torch.func.jacrev(lambda a: top_k(a, V, k))(scores)  # (3, 12)
    assert (gradient[:, ordered[k:]] == 0).all()
    assert ((gradient[:, ordered[:k]] != 0).all() if k > 1
            else (gradient == 0).all())
    distance = (top_k(scores, V, k) - p @ V).norm()
    assert distance <= p[ordered[k:]].sum() * diameter + 1e-12
torch.testing.assert_close(top_k(scores, V, 12), p @ V)
torch.testing.assert_close(top_k(scores, V, 1), V[ordered[0]])

# %%
fourth, fifth = ordered[3:5]
jump = []
for step in (-1e-6, 1e-6):  # the fifth just below and just above the fourth
    near = scores.index_fill(0, fifth, scores[fourth].item() + step)
    jump.append((top_k(near, V, 4), torch.softmax(near, dim=0) @ V))
below, above = jump
print(f"top-k jumps by {(above[0] - below[0]).norm():.2f}, "
      f"full attention by {(above[1] - below[1]).norm():.0e}")
assert (above[0] - below[0]).norm() > 0.05
assert (above[1] - below[1]).norm() < 1e-5

# %% [markdown]
# ## Sources
#
# - D. Bahdanau, K. Cho and Y. Bengio, *Neural machine translation by jointly learning to align and translate* (2014), [arXiv:1409.0473](https://arxiv.org/abs/1409.0473): the fixed-length vector as a bottleneck, and a soft search of the source.
# - A. Graves, *Generating sequences with recurrent neural networks* (2013), [arXiv:1308.0850](https://arxiv.org/abs/1308.0850); A. Graves, G. Wayne and I. Danihelka, *Neural Turing machines* (2014), [arXiv:1410.5401](https://arxiv.org/abs/1410.5401).
# - A. Miller et al., *Key-value memory networks for directly reading documents* (2016), [arXiv:1606.03126](https://arxiv.org/abs/1606.03126).
# - A. Vaswani et al., *Attention is all you need* (2017), [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
# - T. Kohonen, *Correlation matrix memories* (1972), [doi:10.1109/TC.1972.5008975](https://doi.org/10.1109/TC.1972.5008975); T. M. Cover, *Geometrical and statistical properties of systems of linear inequalities with applications in pattern recognition* (1965), [doi:10.1109/PGEC.1965.264137](https://doi.org/10.1109/PGEC.1965.264137).
# - V. Mnih et al., *Recurrent models of visual attention* (2014), [arXiv:1406.6247](https://arxiv.org/abs/1406.6247); E. Jang, S. Gu and B. Poole, *Categorical reparameterization with Gumbel-softmax* (2016), [arXiv:1611.01144](https://arxiv.org/abs/1611.01144).
# - S. Jain and B. C. Wallace, *Attention is not explanation*, NAACL 2019, [aclanthology.org/N19-1357](https://aclanthology.org/N19-1357); S. Wiegreffe and Y. Pinter, *Attention is not not explanation*, EMNLP 2019, [doi:10.18653/v1/D19-1002](https://doi.org/10.18653/v1/D19-1002); G. Brunner et al., *On identifiability in Transformers*, ICLR 2020, [arXiv:1908.04211](https://arxiv.org/abs/1908.04211); R. Bhardwaj et al., *More identifiable yet equally performant Transformers for text classification*, ACL 2021, [arXiv:2106.01269](https://arxiv.org/abs/2106.01269).
# - I. Schlag, K. Irie and J. Schmidhuber, *Linear Transformers are secretly fast weight programmers* (2021), [arXiv:2102.11174](https://arxiv.org/abs/2102.11174): linear attention as the matrix memory of equation (11.1.3), and its limited capacity.
# - S. Jelassi et al., *Repeat after me: Transformers are better than state space models at copying* (2024), [arXiv:2402.01032](https://arxiv.org/abs/2402.01032).
# - S. Bae et al., *Hybrid architectures for language models: systematic analysis and design insights* (2025), [arXiv:2510.04800](https://arxiv.org/abs/2510.04800).
# - J. Hu et al., *Squeeze-and-excitation networks* (2017), [arXiv:1709.01507](https://arxiv.org/abs/1709.01507).
