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
# # 1.3 Kinds of problems I: supervised learning
#
# Somebody has answered a question many times, and wants a program that answers it from now on.
# That is *supervised learning*.
# The kinds of supervised problems differ in what an answer looks like.
# A number, a class, several tags, an order, a sentence: each asks for another loss, and each has its own way of going wrong.

# %% [markdown]
# **You will**
#
# - tell the kind of a supervised problem from its target;
# - say why the most probable class can be the wrong decision, and compute the right one;
# - rank pages by their links alone, and see what a rank does not know;
# - watch a recommender make a hit out of pure chance.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import math

import matplotlib.pyplot as plt
import torch

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## The setting
#
# ![A map of kinds of problems as a tree. Machine learning branches into: with labels, supervised, Section 1.3, with regression, classification, tagging, search, recommendation and sequences; without labels, Section 1.4, with unsupervised and self-supervised; by interaction, Section 1.5, with bandits and reinforcement learning.](img/map-of-problems.svg)
#
# **Figure 1.3.1.** The kinds of problems, and the sections that treat them.
#
# We are given *examples*, each of them with its *features* and its *label*.
# Somebody supplied the labels, which is why the learning is called supervised.
# A *learning algorithm* turns them into a *model*, and the model predicts labels of examples that nobody has labelled.
# In the language of probability it estimates $P(\text{label}\mid\text{features})$: how likely is each label, given what we see?
#
# ![Pipeline. Inputs with their labels form the training set, which goes into a learning algorithm; the algorithm gives a model; a new input goes into the model, and a prediction comes out.](img/supervised-pipeline.svg)
#
# **Figure 1.3.2.** Supervised learning.
# The labels are needed on the left only; on the right the model has to do without.

# %% [markdown]
# ## Regression: how much, how many?
#
# If the label is a number, the problem is called *regression*: the price of a house, the days that a patient stays, the rain of tomorrow.
# The smallest case is school mathematics.
# A plumber charged 350 for three hours and 250 for two.
# If the bill is a fee for each hour and one for coming, how much are they?
#
# $$
# \begin{pmatrix} 3 & 1\\ 2 & 1\end{pmatrix}\begin{pmatrix} w\\ b\end{pmatrix}=\begin{pmatrix} 350\\ 250\end{pmatrix} \tag{1.3.1}
# $$
#
# Here $w$ is the fee for an hour and $b$ the fee for coming; each row is one bill.

# %%
def solve_two_bills():
    """Fee for an hour and fee for coming, from two bills."""
    A = torch.tensor([[3.0, 1.0], [2.0, 1.0]])  # hours, visits
    bills = torch.tensor([350.0, 250.0])
    return torch.linalg.solve(A, bills)  # (2,)

# %%
# check 1.3-C1: 100 for an hour and 50 for coming
w, b = solve_two_bills().tolist()
print(f"{w:.0f} an hour and {b:.0f} for coming")
assert math.isclose(w, 100, rel_tol=1e-5)
assert math.isclose(b, 50, rel_tol=1e-5)

# %% [markdown]
# Two bills, two unknowns, no doubt.
# Real bills scatter: the plumber rounds, chats, or gives a discount.
# Then there are more examples than unknowns and no line fits them all, and we take the one with the smallest sum of squared errors.
# One reason for squares is that they belong to errors with a normal distribution; [Section 3.1](../03-linear-regression/01-linear-regression.ipynb) shows how.

# %% [markdown]
# ## Classification: which one?
#
# If the label is one of several classes, the problem is called *classification*: *binary* with two classes, spam or not, and *multiclass* with more, such as the ten digits.
# Classes can also form a tree, and then mistakes differ in gravity.
# Taking one breed of dog for another is a smaller mistake than taking a dog for a car.
# This is *hierarchical* classification.
#
# A good classifier does not answer "a mushroom of kind 7", but gives a probability to each class.
# A loss that rewards honest probabilities, and the usual one, is the cross-entropy ([Section 4.1](../04-linear-classification/01-softmax-regression.ipynb)).
#
# ### The likeliest answer and the right decision
#
# You found a mushroom.
# The classifier says: edible with probability 0.8, poisonous with 0.2.
# The likeliest class is edible.
# Do you eat it?
#
# Let $p$ be the probability that it is poisonous.
# For each action, weigh the cost of each case by its probability:
#
# $$
# \begin{gathered} \operatorname{cost}(\text{eat}) = p\,c_{\text{poison}} + (1-p)\cdot 0, \\[4pt] \operatorname{cost}(\text{discard}) = p\cdot 0 + (1-p)\,c_{\text{waste}}, \end{gathered} \tag{1.3.2}
# $$
#
# where $c_{\text{poison}}$ is what it costs to eat a poisonous one and $c_{\text{waste}}$ what it costs to discard a good one, both numbers.
# Suppose that the first is infinite, and the second is one supper.

# %%
def expected_cost(p, costs):
    """Cheapest action and the expected cost of each.

    `p` is the probability of the bad case, `costs` maps an action to its
    cost (in the bad case, in the good case).
    """
    def weigh(prob, cost):  # an impossible case costs nothing
        return prob * cost if prob > 0 else 0.0

    expected = {action: weigh(p, bad) + weigh(1 - p, good)
                for action, (bad, good) in costs.items()}
    return min(expected, key=expected.get), expected

# %%
# check 1.3-C2: discard at 0.2; with finite costs eat only below 1/1001
deadly = {"eat": (math.inf, 0), "discard": (0, 1)}
action, expected = expected_cost(0.2, deadly)
print(action, expected)
assert action == "discard" and math.isclose(expected["discard"], 0.8)
assert expected["eat"] == math.inf

nasty = {"eat": (1000, 0), "discard": (0, 1)}
assert expected_cost(0.0, deadly) == ("eat", {"eat": 0, "discard": 1})
for p in (0.5 / 1001, 0.99 / 1001, 1.01 / 1001, 0.2):
    assert (expected_cost(p, nasty)[0] == "eat") == (p < 1 / 1001)

# %% [markdown]
# Even with a finite cost of 1000 suppers, eating is right only for probabilities below $1/1001$.
# The figure shows both costs as lines over $p$: the better action is the lower line, and the crossing is the threshold.
# It lies far from one half.

# %% tags=["hide-input"]
p = torch.logspace(-5, -0.0001, 200)
costs = torch.tensor([expected_cost(q, nasty)[1]["eat"] for q in p.tolist()])
ax = d2l.plot(p, [costs, 1 - p], ["eat", "discard"], xscale="log",
              yscale="log", xlabel="probability that it is poisonous",
              ylabel="expected cost (suppers)", ylim=(1e-2, 1e3))
ax.axvline(1 / 1001, color="gray", lw=1, ls=":")
ax.axvline(0.5, color="gray", lw=1, ls=":")
ax.text(1 / 1150, 200, "threshold 1/1001", ha="right", fontsize=9)
ax.text(0.45, 0.02, "one half", ha="right", fontsize=9)
d2l.describe(ax, "Expected cost of eating and of discarding over the "
             "probability of poison, on logarithmic axes. Eating rises in "
             "a straight line, discarding is level at one. They cross at "
             "about one in a thousand, far to the left of one half.")

# %% [markdown]
# **Figure 1.3.3.** The decision follows from probabilities *and* costs.
# Between the two dotted lines the likeliest class is "edible", and discarding is right.

# %% [markdown]
# ## Tagging: which of them?
#
# In the tale of the Bremen town musicians a donkey, a dog, a cat and a rooster stand on one another's backs.
# A classifier that must choose one class cannot describe the picture.
# When several labels may be true at once, the problem is called *multi-label classification* or *tagging*.
# Posts in a forum carry tags; an article in the medical database PubMed gets several of the about 31 000 headings of a vocabulary named [MeSH](https://www.nlm.nih.gov/mesh/).
# Tags are correlated, too: where there is "neural networks" there is often "machine learning".
#
# The difference shows in the last step of a network.
# The *softmax* makes scores compete: their probabilities add up to 1.
# The *sigmoid* $\sigma(z)=1/(1+e^{-z})$ turns each score into a probability of its own.
# Take a picture with a dog and a cat and without a car, and let the scores be $3$, $3$ and $-3$:

# %%
# check 1.3-C3: softmax divides what sigmoid grants to both
scores = torch.tensor([3.0, 3.0, -3.0])  # dog, cat, car
competing, separate = torch.softmax(scores, 0), torch.sigmoid(scores)
print("softmax", [f"{v:.3f}" for v in competing.tolist()])
print("sigmoid", [f"{v:.3f}" for v in separate.tolist()])
torch.testing.assert_close(competing.sum(), torch.tensor(1.0))
assert (competing[:2] - 0.499).abs().max() < 5e-4
assert (separate - torch.tensor([0.953, 0.953, 0.047])).abs().max() < 5e-4

# %% [markdown]
# Softmax has to split: it can say "dog or cat", but not "dog and cat".

# %% [markdown]
# ## Search: in which order?
#
# Sometimes the answer is not a label but an *order*.
# A search engine has thousands of pages that contain your words; what matters is which ten come first.
#
# One famous method scored pages without looking at the query.
# *PageRank* imagines a reader who clicks on a random link of the page in front of them, and now and then, with probability $1-d$, gets bored and goes to a random page.
# The rank of a page is the share of time that this reader spends on it:
#
# $$
# \mathbf{r} \leftarrow d\,\mathbf{L}\mathbf{r} + \frac{1-d}{n}\mathbf{1}. \tag{1.3.3}
# $$
#
# Here $n$ is the number of pages, $\mathbf{r}\in\mathbb{R}^n$ holds the ranks, $\mathbf{1}\in\mathbb{R}^n$ is a vector of ones and $d$ is usually 0.85.
# The matrix $\mathbf{L}\in\mathbb{R}^{n\times n}$ holds the links: if page $j$ links to page $i$, then $L_{ij}$ is one over the number of links on page $j$, and otherwise it is 0.
# Repeat the step, and the ranks settle.

# %%
def link_matrix(links):
    """Matrix L (n, n) of a dict page -> pages that it links to."""
    pages = sorted(links)
    L = torch.zeros(len(pages), len(pages), dtype=torch.float64)
    for page, targets in links.items():
        for target in targets:
            L[pages.index(target), pages.index(page)] = 1 / len(targets)
    return L


def pagerank(links, d=0.85, iters=100):
    """Ranks (n,) of the pages in alphabetical order."""
    L = link_matrix(links)
    n = len(L)
    r = torch.full((n,), 1 / n, dtype=torch.float64)
    for _ in range(iters):
        r = d * L @ r + (1 - d) / n
    return r

# %%
# check 1.3-C4: ranks, their sum, and the eigenvector that they are
links = {"A": "BC", "B": "C", "C": "A", "D": "C"}
ranks = pagerank(links)
print({page: round(r, 4) for page, r in zip("ABCD", ranks.tolist())})
expected = torch.tensor([0.3725, 0.1958, 0.3941, 0.0375]).double()
assert (ranks - expected).abs().max() < 1e-4
assert math.isclose(ranks.sum().item(), 1, rel_tol=1e-12)

google = 0.85 * link_matrix(links) + 0.15 / 4  # (4, 4)
torch.testing.assert_close(google @ ranks, ranks)
values = torch.linalg.eigvals(google)
assert math.isclose(values.abs().max().item(), 1, rel_tol=1e-9)

# %% tags=["hide-input"]
places = {"A": (0, 0), "B": (1, 0.9), "C": (2, 0), "D": (3.2, 0)}
_, ax = plt.subplots(figsize=(5.4, 2.7))
for page, targets in links.items():
    for target in targets:
        bend = {"AC": -0.2, "CA": -0.2}.get(page + target, 0)
        ax.annotate("", places[target], places[page], arrowprops={
            "arrowstyle": "-|>", "color": "#555555", "shrinkA": 22,
            "shrinkB": 27, "connectionstyle": f"arc3,rad={bend}"})
for page, rank in zip("ABCD", ranks.tolist()):
    x, y = places[page]
    ax.scatter(x, y, s=5000 * rank, color="#56B4E9", zorder=3)
    ax.text(x, y, page, ha="center", va="center", zorder=4, weight="bold")
    below = 0.12 + 0.62 * math.sqrt(rank)
    ax.text(x, y - below, f"{rank:.2f}", ha="center", va="top", fontsize=9)
ax.set(xlim=(-0.6, 3.7), ylim=(-0.85, 1.4))
ax.axis("off")
d2l.describe(ax, "Four pages as discs whose areas are their ranks. C is the "
             "largest, with links from A, B and D; A is nearly as large, "
             "with the only link of C; B is half as large; D, to which "
             "nobody links, is tiny.")

# %% [markdown]
# **Figure 1.3.4.** The area of a page is its rank.
# A has a single link, but from the most important page.

# %% [markdown]
# The rank does not depend on what you asked.
# Modern systems also learn, for each query, from what people clicked.

# %% [markdown]
# ## Recommendation: what for whom?
#
# A *recommender system* orders things too, but for a person instead of a query.
# Its labels come in two ways.
# *Explicit* feedback is given on purpose, as stars; *implicit* feedback is left behind, as clicks or skips.
# Both are incomplete, and not at random: people rate what they chose to see, so the ratings are *censored*.
#
# Worse, the system decides what people see, and learns from what they see.
# Let us run this *feedback loop*.
# Two books are exactly equally good.
# Each visitor is shown one of them, with a probability in proportion to its sales so far, and buys it.
# Both start with one sale.
# What share of the sales does the first book have after 500 visitors?
# We watch 2000 shops.

# %%
def shops(visitors, runs, explore, generator):
    """Final share of book 1 in each of `runs` shops, shape (runs,).

    `explore` is the probability that a book is shown at random rather
    than by its sales.
    """
    sales = torch.ones(runs, 2)
    for _ in range(visitors):
        share = sales[:, 0] / sales.sum(dim=1)
        show = explore * 0.5 + (1 - explore) * share  # probability of book 1
        first = torch.rand(runs, generator=generator) < show
        sales[:, 0] += first
        sales[:, 1] += ~first
    return sales[:, 0] / sales.sum(dim=1)

# %%
# check 1.3-C5: equal books, unequal fates
rng = torch.Generator().manual_seed(7)
popular = shops(500, 2000, explore=0.0, generator=rng)
fair = shops(500, 2000, explore=1.0, generator=rng)
for name, share in (("by sales", popular), ("at random", fair)):
    print(f"{name:9} mean {share.mean():.2f}, spread {share.std():.2f}")
assert abs(popular.mean() - 0.5) < 0.02
assert 0.27 < popular.std() < 0.31     # uniform: sqrt(1/12) = 0.2887
assert abs(fair.std() - 0.0224) < 0.003  # sqrt(1/4/500)
for limit in (0.1, 0.25, 0.5, 0.75, 0.9):  # uniform, not only as wide
    assert abs((popular < limit).float().mean() - limit) < 0.03

# %% tags=["hide-input"]
_, ax = plt.subplots()
bins = torch.linspace(0, 1, 26).numpy()
for share, name, color in ((popular, "shown by sales", "#0072B2"),
                           (fair, "shown at random", "#D55E00")):
    ax.hist(share.numpy(), bins, alpha=0.7, label=name, color=color)
ax.set(xlabel="final share of book 1", ylabel="shops (of 2000)", yscale="log",
       ylim=(20, 3000))
ax.legend(loc="upper right")
d2l.describe(ax, "Histograms of the final share of the first book. Shown by "
             "sales, the shares spread evenly from zero to one. Shown at "
             "random, all shops lie close to one half.")

# %% [markdown]
# **Figure 1.3.5.** Two equal books in 2000 shops (logarithmic counts).
# If sales decide what is shown, every division of the market is equally likely.

# %% [markdown]
# The final share is uniform between 0 and 1, a theorem on this urn, which is named after Eggenberger and Pólya: every number of sales is equally likely.
# In one shop in ten the first book ends below a tenth of the sales, in another tenth of the shops above nine tenths, and a manager might explain the success by the quality of the book.
# Popularity can come from chance, amplified by the system that measures it.

# %% [markdown]
# ## Sequence learning
#
# In all problems so far an input had a fixed form.
# A sentence, a recording, a film have a length of their own, and what comes late may depend on what came early.
# A model for *sequences* needs memory.
# The kinds differ in how input and output are *aligned*.
#
# - *Tagging and parsing*: each word gets a tag, so both sequences have the same length. Which words are verbs, which are names?
# - *Speech recognition*: the input has many thousand samples a second, the output a few letters; the order is the same, the lengths are not.
# - *Text to speech* is the inverse, few letters to many samples.
# - *Machine translation*: neither the length nor the order is kept.
#
# *Named-entity recognition* is an example of the first kind.
# Here `Ent` marks a name; our tagger knows three names by heart, while a learned one has to tell from the context.

# %%
# check 1.3-C6: one tag for each token
def tag_names(tokens, names):
    """A tag for each token: Ent for the known names, - for the others."""
    return ["Ent" if token in names else "-" for token in tokens]


tokens = "Tom has dinner in Washington with Sally".split()
tags = tag_names(tokens, {"Tom", "Sally", "Washington"})
print(" ".join(f"{token}/{tag}" for token, tag in zip(tokens, tags)))
assert len(tags) == len(tokens)
named = [token for token, tag in zip(tokens, tags) if tag == "Ent"]
assert named == ["Tom", "Washington", "Sally"]  # in their places

# %% tags=["hide-input"]
def lane(ax, y, words, width, color):
    """A row of boxes from 0 to 10 with a word in each."""
    for i, word in enumerate(words):
        ax.add_patch(plt.Rectangle((i * width, y), width * 0.94, 0.5,
                                   fc=color, ec="#444444", lw=0.8))
        ax.text((i + 0.47) * width, y + 0.25, word, ha="center",
                va="center", fontsize=8.5)

_, axes = plt.subplots(3, 1, figsize=(5.8, 4.4))
cases = (("tagging", "Tom has dinner".split(), "Ent - -".split(),
          [(0, 0), (1, 1), (2, 2)]),
         ("speech", [""] * 15, list("five"),
          [(1, 0), (4, 0), (5, 1), (8, 2), (9, 2), (13, 3)]),
         ("translation", "do you know the man ?".split(),
          "kennst du den Mann ?".split(),
          [(0, 0), (1, 1), (2, 0), (3, 2), (4, 3), (5, 4)]))
for ax, (name, source, target, pairs) in zip(axes, cases):
    a, b = 10 / len(source), 10 / len(target)
    lane(ax, 1.2, source, a, "#e6f1f8")
    lane(ax, 0, target, b, "#fbeee5")
    for i, j in pairs:
        ax.plot([(i + 0.47) * a, (j + 0.47) * b], [1.2, 0.5],
                color="#444444", lw=1)
    ax.set(xlim=(-0.1, 10.1), ylim=(-0.1, 1.9))
    ax.set_title(name, loc="left")
    ax.axis("off")
d2l.describe(axes, "Three pairs of sequences joined by lines. Tagging: each "
             "word is joined to the tag below it. Speech: fifteen short "
             "pieces of sound are joined in order to the four letters of "
             "five. Translation from English into German: do and know "
             "become one word at the front, so two lines cross.")

# %% [markdown]
# **Figure 1.3.6.** Three alignments, input above and output below.
# Tagging keeps position and length, speech keeps the order only, translation keeps neither.

# %% [markdown]
# ## Summary
#
# - The kind of a supervised problem is the kind of its target: a number, a class, a set of tags, an order, a sequence.
# - Decisions follow from probabilities and costs together: if one mistake costs a thousand times the other, the threshold is $1/1001$ and not one half.
# - Softmax makes classes exclude each other, sigmoids let several be true.
# - PageRank is an eigenvector of the link graph, and does not depend on the query.
# - A system that learns from what it showed can make a hit out of chance: two equal books can end with any division of the market.
# - Sequence problems differ in their alignment: same length, same order, or neither.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.3-1
#
# A false negative costs $a$, a false positive $b$, correct answers nothing.
# Show that discarding is right exactly if $p>b/(a+b)$, where $p$ is the probability of the bad case.

# %% [markdown]
# #### Solution 1.3-1

# %% [markdown]
# Eating costs $pa$ on average, discarding $(1-p)b$.
# The second is smaller if $b-pb<pa$, that is $p>b/(a+b)$.
# For $a=1000$ and $b=1$ this is the $1/1001$ from above; for equal costs it is one half.

# %%
for a in (0.5, 1, 10, 1000):
    for b in (0.5, 1, 3):
        for p in torch.linspace(0.0005, 0.9995, 400).tolist():
            choice, _ = expected_cost(p, {"eat": (a, 0), "discard": (0, b)})
            assert (choice == "discard") == (p > b / (a + b))

# %% [markdown]
# ### Exercise 1.3-2
#
# Set $d$ to 0.5 and to 1 in PageRank.
# What breaks at 1?

# %% [markdown]
# #### Solution 1.3-2

# %% [markdown]
# With $d=0.5$ the ranks move towards each other, since half of the time the reader jumps anywhere.
# With $d=1$ nobody ever jumps, and D, to which no page links, is never visited again: its rank is exactly 0.
# So is the rank of everything that can be reached from such pages only; and a page without links of its own would swallow the readers, so the ranks would add up to less than 1.

# %%
half, one = pagerank(links, d=0.5), pagerank(links, d=1.0)
print({page: round(r, 4) for page, r in zip("ABCD", half.tolist())})
assert half.max() - half.min() < ranks.max() - ranks.min()
assert one[3] == 0 and math.isclose(one.sum().item(), 1, rel_tol=1e-9)
assert pagerank({"A": "B", "B": ""}).sum() < 0.9  # B has no links

# %% [markdown]
# ### Exercise 1.3-3
#
# Name the kind of each task: regression, classification, tagging, search, recommendation or sequence.
#
# 1. the temperature of tomorrow at noon
# 2. the language of a text
# 3. subtitles for a film
# 4. all ingredients seen on a photograph of a meal
# 5. the order of offers for the query "red shoes"
# 6. the next song for this listener
# 7. the age of a tree from a picture
# 8. whether a transaction is fraud
# 9. the part of speech of each word
# 10. the subjects of a newspaper article
# 11. the number of calls in the next hour
# 12. an English sentence in Japanese

# %% [markdown]
# #### Solution 1.3-3

# %% [markdown]
# The target decides.
# So write down one target for each task, and let a program look at its form: a number, a name or a truth value, a set, a list, or an order of things for a query or for a person.
# Number 8 has two classes, yes and no; numbers 4 and 10 have several labels at once; number 11 is a count, hence "how many", hence regression.

# %%
def kind(target):
    """Kind of a supervised problem, from the form of one target."""
    if isinstance(target, dict):  # an order for somebody or something
        return "search" if "query" in target else "recommendation"
    if isinstance(target, (bool, str)):  # before int: True is an int
        return "classification"
    if isinstance(target, (int, float)):
        return "regression"
    return "tagging" if isinstance(target, set) else "sequence"


targets = [21.5, "Danish", ["Where", "were", "you", "?"], {"rice", "egg"},
           {"query": "red shoes", "order": [7, 3, 9]},
           {"person": 42, "order": [5, 1]}, 85.0, True,
           ["pronoun", "verb"], {"politics", "trade"}, 17, ["こんにちは"]]
answers = [kind(target) for target in targets]
for number, answer in enumerate(answers, start=1):
    print(number, answer)
assert answers[7] == "classification" and answers[10] == "regression"
assert [answers.count(name) for name in (
    "regression", "classification", "sequence", "tagging", "search",
    "recommendation")] == [3, 2, 3, 2, 1, 1]

# %% [markdown]
# ### Exercise 1.3-4
#
# Let the shop show a random book to 5 % of the visitors.
# By how much does the spread of the final shares fall?

# %% [markdown]
# #### Solution 1.3-4

# %% [markdown]
# It falls, but not by much: after 500 visitors chance still decides most of it.
# What exploration gives at once is *data* on the neglected book, and with them an estimate of its quality.

# %%
rng = torch.Generator().manual_seed(8)
tamed = shops(500, 2000, explore=0.05, generator=rng)
print(f"spread {tamed.std():.2f} instead of {popular.std():.2f}")
assert 0.2 < tamed.std() < 0.26 < popular.std()

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the division into kinds, the mushroom, the plumber.
# - S. Brin, L. Page (1998). The anatomy of a large-scale hypertextual web search engine. [doi:10.1016/S0169-7552(98)00110-X](https://doi.org/10.1016/S0169-7552(98)00110-X): PageRank.
# - F. Eggenberger, G. Pólya (1923). Über die Statistik verketteter Vorgänge. [doi:10.1002/zamm.19230030407](https://doi.org/10.1002/zamm.19230030407): the urn whose share becomes uniform.
# - M. J. Salganik, P. S. Dodds, D. J. Watts (2006). Experimental study of inequality and unpredictability in an artificial cultural market. [doi:10.1126/science.1121066](https://doi.org/10.1126/science.1121066): the loop with real people and songs.
# - National Library of Medicine, [Medical Subject Headings](https://www.nlm.nih.gov/mesh/): the vocabulary of PubMed.
