# ---
# jupyter:
#   d2l:
#     data: [snli-dev-test]
#     profiles:
#       gpu: {}
#       smoke:
#         num_shuffles: 200
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
# # 16.4 Natural language inference and the dataset
#
# Does one sentence follow from another?
# A program that can tell could check summaries against their sources and answers against documents.
# There are large data sets for learning it, and this section loads one of the best known, but its real subject is distrust: a classifier that never sees the first sentence is right three times in five, and one that never reads the second does better still if the data are split carelessly.
#
# **You will**
#
# - define entailment, contradiction and neutral, and decide them exactly in a small world;
# - load SNLI, split it by premise, and say what a random split gives away;
# - test a data set for shortcuts: words that betray the label, half of the input, overlap of words;
# - build a data set whose hypotheses tell nothing about the label, prove it, and find what it betrays instead.
#
# **Cost**: about half a minute on a CPU, no use of a GPU; a download of less than 3 MB, once.

# %%
import itertools
import json
import tempfile
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Ellipse
from scipy.stats import binomtest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    DataModule, add_to_class)
from d2l_helpers.chapters.nlp_pretraining import premise_split
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import Scene, ToyWorld

d2l.use_style()

# %% tags=["parameters"]
num_shuffles = 1000  # of labels, for the test of independence
full_snli = False  # True: the ladder on the official SNLI (94 MB) as well
seed = 0

# %% [markdown]
# ## Three relations
#
# *Natural language inference* (NLI) is the task of classifying a pair of sentences, a *premise* and a *hypothesis*, by what the premise says about the hypothesis:
#
# | premise | hypothesis | label |
# |---|---|---|
# | Two cooks chop onions in a tiny kitchen. | People are preparing food. | 0, *entailment*: it follows |
# | | Two cooks are fast asleep. | 1, *contradiction*: it is ruled out |
# | | The cooks are making soup. | 2, *neutral*: neither |
#
# What "follows" means can be said exactly if we know all the ways the world may be.
# Let $W(s)$ be the set of worlds in which the sentence $s$ is true.
# Then the premise $p$ and the hypothesis $h$ are in the relation
#
# $$\text{entailment if } W(p)\subseteq W(h),\qquad\text{contradiction if } W(p)\cap W(h)=\emptyset,\qquad\text{neutral otherwise.}\tag{16.4.1}$$
#
# At most one of the first two holds as long as $p$ is true in some world.
# Entailment has a direction: a dog that waits near the river waits, but not every dog that waits is near the river.

# %% tags=["hide-input"]
told = {"entailment": ("the big animal waits", (0, 0, 3.4, 2.2)),
        "contradiction": ("the dog leaves", (1.6, 0, 1.9, 1.5)),
        "neutral": ("the dog is clean", (0.75, 0, 2.2, 1.7))}
_, axes = plt.subplots(1, 3, figsize=(7.2, 2.5))
for ax, (label, (sentence, place)) in zip(axes, told.items()):
    left = {"entailment": 0, "contradiction": -1.0, "neutral": -0.75}[label]
    size = (1.5, 1.0) if label == "entailment" else (1.9, 1.5)
    ax.add_patch(Ellipse(place[:2], *place[2:], fc="#56B4E955", ec="#0072B2"))
    ax.add_patch(Ellipse((left, 0), *size, fc="#E69F0055", ec="#D55E00"))
    ax.set(xlim=(-2.1, 2.7), ylim=(-1.7, 1.4), title=label, aspect="equal")
    ax.text(left, 0, "p", ha="center", va="center")
    ax.text(place[0] + {"entailment": 1.2, "neutral": 0.3}.get(label, 0), 0,
            "h", ha="center", va="center")
    ax.text(0.3, -1.6, f"h: {sentence}", ha="center", fontsize=8)
    ax.axis("off")
d2l.describe(axes, """Three panels with two ellipses each, the worlds of the
    premise p, the big dog waits near the river, and those of a hypothesis h.
    Entailment, h is the big animal waits: p lies inside h. Contradiction, h
    is the dog leaves: they do not touch. Neutral, h is the dog is clean:
    they overlap in part.""")

# %% [markdown]
# **Figure 16.4.1.** Worlds in which $p$, "the big dog waits near the river", is true, and those of three hypotheses (not to scale).

# %% [markdown]
# ### A world small enough to check
#
# The toy world of [Section 15.9](../15-nlp-pretraining/09-bert-data.ipynb) has 12 nouns below 4 kinds (a dog is an animal), four pairs of opposite adjectives, three pairs of opposite verbs and four places.
# Let a world be one noun, one side of each of the seven pairs, and any selection of the places to be near: $12\cdot2^4\cdot2^3\cdot2^4=24\,576$ worlds.
# All sentences speak of the same thing in the same scene.
#
# A sentence states a noun and at least one of three more parts, and `None` marks what it leaves out.
# The three relations then have short rules: the premise must state at least as much, or the two must state opposites or incompatible nouns.

# %% tags=["export"]
def entails(scene_a, scene_b):
    """Whether all that `scene_b` states is so if `scene_a` is.

    Both are a `Scene` of `ToyWorld` (noun, adjective, verb, place) with
    None for a part that is not stated; a noun may be a kind such as
    "animal". Returns a bool.
    """
    return all(said is None or told == said
               or ToyWorld.kinds.get(told, "") == said
               for told, said in zip(scene_a, scene_b, strict=True))


def contradicts(scene_a, scene_b):
    """Whether both scenes, as in `entails`, cannot be so at once."""
    def below(noun):  # the nouns that a noun or kind may stand for
        return {n for n, kind in ToyWorld.kinds.items()
                if noun in (None, n, kind)}

    apart = not below(scene_a.noun) & below(scene_b.noun)
    return apart or any(ToyWorld.opposites.get(told, "") == said
                        for told, said in zip(scene_a, scene_b))


def relation(scene_a, scene_b):
    """0 for entailment, 1 for contradiction, 2 for neutral."""
    if entails(scene_a, scene_b):
        return 0
    return 1 if contradicts(scene_a, scene_b) else 2

# %% [markdown]
# Text and scene are two forms of the same: `say` writes a scene as a sentence of 3 to 7 words, `scene_of` reads it back.

# %% tags=["export"]
def say(scene):
    """A sentence that states just what a `Scene` holds.

    Parts that are None are left out; besides the noun at least one more
    part is needed (ValueError).
    """
    noun, adjective, verb, place = scene
    if noun is None or not (adjective or verb or place):
        raise ValueError(f"{scene} is no sentence; give a noun and at least "
                         "one of adjective, verb and place.")
    where = ["near", "the", place] if place else []
    if not (verb or place):
        return f"the {noun} is {adjective}"
    return " ".join(["the", *([adjective] if adjective else []), noun,
                     verb or "is", *where])


def scene_of(sentence):
    """The `Scene` that a sentence states; None for what it leaves out."""
    words = sentence.split()
    known = ToyWorld.categories | {
        "noun": [*ToyWorld.kinds, *ToyWorld.kinds.values()]}
    return Scene(*(next((w for w in words if w in known[part]), None)
                   for part in Scene._fields))

# %%
p = "the big dog waits near the river"
for h in ("the big animal waits", "the dog leaves", "the dog is clean"):
    a, b = scene_of(p), scene_of(h)
    print(f"{h:22} {relation(a, b)}, reversed {relation(b, a)}")
    assert say(a) == p and say(b) == h
assert [relation(scene_of(p), scene_of(h)) for h in
        ("the big animal waits", "the dog leaves", "the dog is clean")
        ] == [0, 1, 2]
assert relation(b, a) == 2 and relation(scene_of(
    "the big animal waits"), scene_of(p)) == 2

# %% [markdown]
# The rules are short, but are they right?
# The definition (16.4.1) can be evaluated by brute force, with a table of true and false over all worlds for each sentence.

# %%
def worlds(scene):
    """Truth in each world: booleans (nouns, adjectives, verbs, places)."""
    noun = np.array([scene.noun in (n, kind)
                     for n, kind in ToyWorld.kinds.items()])
    factors = [noun]
    for part in ("adjective", "verb"):
        names = ToyWorld.categories[part]  # opposites are neighbours
        state = np.arange(2 ** (len(names) // 2))  # a bit for each pair
        said = getattr(scene, part)
        i = names.index(said) if said else 0
        factors.append((state >> (i // 2)) & 1 == i % 2 if said
                       else state >= 0)
    state, places = np.arange(16), ToyWorld.categories["place"]
    factors.append((state >> places.index(scene.place)) & 1 == 1
                   if scene.place else state >= 0)
    return np.einsum("i,j,k,l->ijkl", *factors)


def by_worlds(a, b):
    """The relation of two tables of truth, from its definition."""
    if not (a & ~b).any():
        return 0
    return 2 if (a & b).any() else 1


counts = [int(worlds(scene_of(s)).sum())
          for s in (p, "the big animal waits", "the dog leaves")]
print("true in", counts, "of", worlds(scene_of(p)).size, "worlds")
assert counts == [256, 1536, 1024] and worlds(scene_of(p)).size == 24_576

# %% [markdown]
# ### SNLI
#
# The Stanford Natural Language Inference corpus, SNLI (Bowman and others, 2015), has 570 152 pairs.
# The premises are captions of photos; crowd workers were shown a caption and wrote one hypothesis for each label.
# Four more workers labelled a part of the pairs again: the gold label of such a pair is what the majority of all five says, and "-" where there is no majority; the other pairs keep the label of their author.
# Without the pairs marked "-" there are 549 367, 9842 and 9824 pairs for training, development and test.
# The workers did not read (16.4.1): they wrote what is definitely true, definitely false, or might be true, where both sentences describe the same event.
#
# We take the development and test parts, 19 666 pairs, and make our own training and test parts from them; the same reader opens the official archive.
# There we take the tokens from the parse of a sentence: it has brackets around every phrase, and writes brackets of the text itself as `-LRB-` and `-RRB-`, so only bare brackets may be dropped.

# %% tags=["export"]
LABELS = ("entailment", "contradiction", "neutral")


def plain_text(parse):
    """A sentence from its parse in brackets; tokens between single blanks."""
    own = {"-LRB-": "(", "-RRB-": ")"}
    return " ".join(own.get(t, t) for t in parse.split() if t not in "()")


def read_snli(root, split):
    """Pairs of SNLI, as a list of (premise, hypothesis, label).

    `root` is the folder of `d2l.fetch("snli-dev-test")` or of
    `d2l.fetch("snli")`, `split` "train", "dev" or "test" (the first set
    has no "train"). Sentences keep their capitals, with single blanks
    between tokens; labels are indices into `LABELS`. Pairs without a label
    ("-") are left out. Raises ValueError for a part that is not there.
    """
    root, rows = Path(root), []
    archive, name = root / "snli_1.0.zip", f"snli_1.0/snli_1.0_{split}.jsonl"
    if archive.exists():
        with zipfile.ZipFile(archive) as z:
            lines = z.open(name) if name in z.namelist() else ()
            for row in map(json.loads, lines):
                parses = (row.get(f"{s}_binary_parse", row[s])
                          for s in ("sentence1", "sentence2"))
                rows.append((*map(plain_text, parses), row["gold_label"]))
    elif (root / f"s1.{split}").exists():
        columns = ((root / f"{kind}.{split}").read_text("utf-8").splitlines()
                   for kind in ("s1", "s2", "labels"))
        rows = [[" ".join(cell.split()) for cell in row]
                for row in zip(*columns, strict=True)]
    if not rows:
        raise ValueError(f"{root} has no part {split!r} of SNLI.")
    return [(p, h, LABELS.index(label)) for p, h, label in rows
            if label != "-"]

# %%
found = d2l.fetch("snli-dev-test")
parts = {split: read_snli(found.folder, split) for split in ("dev", "test")}
pairs = parts["dev"] + parts["test"]
for premise, hypothesis, label in parts["dev"][3:6]:
    print(f"{premise}\n  {hypothesis}  [{LABELS[label]}]")

# %%
# check 16.4-C5: brackets of a parse, blanks, missing labels
rows = [("( ( A dog )  ( runs -LRB- fast -RRB- . ) )", "( It  moves )", "-"),
        ("( ( A dog )  ( runs -LRB- fast -RRB- . ) )", "( It  moves )",
         "entailment")]
keys = "sentence1_binary_parse", "sentence2_binary_parse", "gold_label"
with tempfile.TemporaryDirectory() as folder:
    with zipfile.ZipFile(Path(folder) / "snli_1.0.zip", "w") as z:
        z.writestr("snli_1.0/snli_1.0_dev.jsonl", "\n".join(
            json.dumps(dict(zip(keys, row)) | {
                "sentence1": "?", "sentence2": "?"}) for row in rows))
    assert read_snli(folder, "dev") == [
        ("A dog runs ( fast ) .", "It moves", 0)]
    for wrong in ("train", "test"):
        try:
            read_snli(folder, wrong)
            raise AssertionError(f"{wrong} was accepted")
        except ValueError as error:
            assert wrong in str(error)
with tempfile.TemporaryDirectory() as folder:
    for kind, cells in zip(("s1", "s2", "labels"), zip(*rows)):
        text = "\n".join(f" {c} " for c in cells)
        (Path(folder) / f"{kind}.dev").write_text(text, "utf-8")
    assert read_snli(folder, "dev") == [
        (rows[1][0].replace("  ", " "), "( It moves )", 0)]

# %% [markdown]
# ## A split that keeps its secrets
#
# Each worker wrote three hypotheses for a premise, one for each label.
# If the pairs are split at random, most premises of the test part are in the training part too, with the other labels.
# So here is a classifier that reads no hypothesis: answer with the label that the premise has had least often in training.

# %%
def rarest_label(train, test):
    """For each test pair the label rarest among its premise's others."""
    seen = defaultdict(lambda: [0] * len(LABELS))
    for premise, _, label in train:
        seen[premise][label] += 1
    return np.array([int(np.argmin(seen[premise])) for premise, *_ in test])


def accuracy(answers, test):
    """Share of right answers among pairs, with its standard error."""
    right = np.mean(answers == np.array([label for *_, label in test]))
    return right, (right * (1 - right) / len(test)) ** 0.5


order = np.random.default_rng(seed).permutation(len(pairs))
num_train = len(pairs) * 5 // 6
random_train, random_test = ([pairs[i] for i in rows] for rows in (
    order[:num_train], order[num_train:]))
train_rows, test_rows = premise_split([p for p, *_ in pairs])
train, test = ([pairs[i] for i in rows] for rows in (train_rows, test_rows))
leak = {}
for name, split in (("random split", (random_train, random_test)),
                    ("split by premise", (train, test))):
    leak[name] = accuracy(rarest_label(*split), split[1])
    known = {p for p, *_ in split[0]}
    print(f"{name:17} {np.mean([p in known for p, *_ in split[1]]):5.1%} of "
          "the test premises seen, rarest label {:.3f} ± {:.3f}".format(
              *leak[name]))

# %% [markdown]
# Nearly three quarters right, without reading a single hypothesis.
# No classifier of this section that does read them does as well on the split by premise, so a leak of this size would drown the comparisons below.
# With the split by premise of [Section 15.10](../15-nlp-pretraining/10-bert-pretraining.ipynb) the rule has nothing to count and answers label 0 for all.
# The general form: examples that were made together stay together.
# We have not gone all the way: in Flickr30k, the source of nearly all premises, every photo has five captions, and since our files do not name the photo, two captions of one photo may end up in different parts.

# %%
# check 16.4-C2: counts of labels; no premise in both parts
real = found.is_real
sizes = {split: np.bincount([y for *_, y in rows]).tolist()
         for split, rows in parts.items()}
print(sizes, f"{len({p for p, *_ in pairs})} premises, "
      f"{len(train)} and {len(test)} pairs")
assert not {p for p, *_ in train} & {p for p, *_ in test}
assert sorted(train_rows + test_rows) == list(range(len(pairs)))
assert accuracy(np.array([0, 1, 2, 0]), [("", "", 0)] * 4) == (0.5, 0.25)
if real:
    assert sizes == {"dev": [3329, 3278, 3235], "test": [3368, 3237, 3219]}
    labelled = defaultdict(set)
    for p, _, y in pairs:
        labelled[p].add(y)
    assert len(labelled) == 6641
    assert sum(len(ys) == 3 for ys in labelled.values()) > 0.75 * 6641
    shared = {p for p, *_ in parts["dev"]} & {p for p, *_ in parts["test"]}
    assert len(shared) == 1  # of the official parts
    assert abs(leak["random split"][0] - 0.73) < 0.015
    lines = [line for part in ("dev", "test") for line in
             (found.folder / f"s1.{part}").read_text("utf-8").splitlines()]
    assert premise_split(lines) == (train_rows, test_rows)  # as in 15.10
    assert leak["split by premise"][0] == np.mean([y == 0 for *_, y in test])

# %% [markdown]
# ## Batches
#
# The models of the next sections need indices.
# Words are in lower case, the vocabulary comes from the training part alone, and both sentences are cut or filled to `num_steps` tokens.

# %% tags=["export"]
class NLIData(DataModule):
    """Pairs of sentences for natural language inference, as indices.

    A batch is ((premise, hypothesis), label): int64 tensors (b, num_steps)
    twice and (b,). `train` and `test` are the same pairs as text. `name`
    is "snli-dev-test", split by premise (`premise_split`), "snli", the
    official training and test part, or "toy", 6000 + 1000 pairs of
    `ToyNLI`; `split_seed` is the seed of `premise_split` or `ToyNLI`, and
    its default gives the split of Section 15.10. `seed` sets the order of
    the batches and which `num_train` training pairs are taken, no more.
    Words that occur less than `min_freq` times in the training part become
    "<unk>". `source` is "real", "standin" or "toy".
    """

    def __init__(self, name="snli-dev-test", batch_size=64, num_steps=50,
                 min_freq=2, num_train=None, seed=0, split_seed=0):
        super().__init__()
        self.save_hyperparameters()
        self.train, self.test = self.choose()
        if num_train is not None:
            if not 0 < num_train <= len(self.train):
                raise ValueError(f"num_train is {num_train}; there are "
                                 f"{len(self.train)} training pairs.")
            rows = np.random.default_rng(seed).permutation(len(self.train))
            self.train = [self.train[i] for i in rows[:num_train]]
        self.vocab = Vocab([s.lower().split() for pair in self.train
                            for s in pair[:2]], min_freq, ["<pad>"])
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors = {part: self.encode(getattr(self, part))
                        for part in ("train", "test")}

# %% tags=["export"]
@add_to_class(NLIData)
def choose(self):
    """The pairs of both parts, as text; sets `source`."""
    if self.name == "toy":
        self.source = "toy"
        pairs = ToyNLI(7000, self.split_seed).pairs
        return pairs[:6000], pairs[6000:]
    if self.name not in ("snli", "snli-dev-test"):
        raise ValueError(f'name is {self.name!r}; use "snli-dev-test", '
                         '"snli" or "toy".')
    found = d2l.fetch(self.name)
    self.source = found.source
    if self.name == "snli":
        return [read_snli(found.folder, part) for part in ("train", "test")]
    pairs = [pair for part in ("dev", "test")
             for pair in read_snli(found.folder, part)]
    return [[pairs[i] for i in rows]
            for rows in premise_split([p for p, *_ in pairs],
                                  self.split_seed)]


@add_to_class(NLIData)
def encode(self, pairs):
    """Tensors (n, num_steps), (n, num_steps), (n,) of pairs of text."""
    n, pad = len(pairs), self.vocab["<pad>"]
    ids = np.full((2, n, self.num_steps), pad, dtype=np.int64)
    for i, (*sentences, _) in enumerate(pairs):
        for side, sentence in zip(ids, sentences):
            row = self.vocab[sentence.lower().split()[:self.num_steps]]
            side[i, :len(row)] = row
    labels = torch.tensor([label for *_, label in pairs], dtype=torch.int64)
    return (*torch.from_numpy(ids), labels)

# %% tags=["export"]
@add_to_class(NLIData)
def get_dataloader(self, train):
    """Batches of the training part, shuffled, or of the test part."""
    return d2l.BatchLoader(
        self.tensors["train" if train else "test"], self.batch_size,
        shuffle=train, generator=self.generator,
        transform=lambda p, h, y: ((p, h), y))

# %%
data = NLIData(seed=seed)
(premises, hypotheses), labels = next(iter(data.train_dataloader()))
print(tuple(premises.shape), tuple(hypotheses.shape), tuple(labels.shape),
      f"{len(data.vocab)} words,", data.source)
print(" ".join(data.vocab.to_tokens(hypotheses[0])).replace(" <pad>", ""),
      f"[{LABELS[labels[0]]}]")

# %%
# check 16.4-C1: shapes of batches
for batch in (premises, hypotheses):
    assert batch.shape == (64, 50) and batch.dtype == torch.int64
assert labels.shape == (64,) and set(labels.tolist()) == {0, 1, 2}
assert (data.train, data.test) == (train, test)
few = NLIData(num_train=100, seed=seed + 1)
assert len(set(few.train) & set(train)) > 95 and few.test == test
assert len(few.train) == 100 and few.train != train[:100]
assert not real or len(few.vocab) < len(data.vocab) / 10
for i in range(100):
    for k in range(2):
        h = data.test[i][k].lower().split()[:50]
        assert data.vocab.to_tokens(data.tensors["test"][k][i]) == [
            w if w in data.vocab.token_to_idx else "<unk>" for w in h
        ] + ["<pad>"] * (50 - len(h))
(first, second), _ = next(iter(data.val_dataloader()))
assert torch.equal(first, data.tensors["test"][0][:64])
assert torch.equal(second, data.tensors["test"][1][:64])
assert data.tensors["test"][2].tolist() == [y for *_, y in data.test]
cut = NLIData(num_steps=5, seed=seed).tensors["test"]  # the first tokens
assert all(torch.equal(a, b[:, :5])
           for a, b in zip(cut[:2], data.tensors["test"]))
orders = [torch.cat([y for _, y in loader]) for loader in (
    data.train_dataloader(), data.train_dataloader(),
    data.val_dataloader(), NLIData(seed=seed).train_dataloader(),
    NLIData(seed=seed + 1).train_dataloader())]
assert not torch.equal(orders[0], orders[1])  # shuffled anew
assert not torch.equal(orders[3], orders[4])  # by the seed
assert torch.equal(orders[2], data.tensors["test"][2])
for wrong in ({"name": "mnli"}, {"num_train": 0}, {"num_train": 10**6}):
    try:
        NLIData(**wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        assert str(list(wrong.values())[0]) in str(error)

# %%
# check 16.4-C6: words of the test part that training lacks are <unk>
known = set(w for p, h, _ in data.train for w in f"{p} {h}".lower().split())
new = sorted({w for *s, _ in data.test for w in " ".join(s).lower().split()}
             - known)
print(f"{len(new)} words occur in the test part only:", *new[:8])
assert all(data.vocab[w] == data.vocab.unk for w in new)
assert data.vocab.unk != data.vocab["<pad>"] and (
    not real or len(new) > 500 and (data.tensors["test"][1]
                                    == data.vocab.unk).any())

# %% [markdown]
# One premise, in two spellings that differ in a capital, is in both parts once all is lower case; we leave it there, so our split stays that of [Section 15.10](../15-nlp-pretraining/10-bert-pretraining.ipynb), whose encoder must not have seen the test part.
# Words seen once in training share `<unk>` with the unseen ones, so a network has examples of that token too.

# %% tags=["hide-input"]
lower = [{p.lower() for p, *_ in part} for part in (train, test)]
assert not real or seed or lower[0] & lower[1] == {"two men play basketball ."}
_, axes = plt.subplots(1, 2, figsize=(7.0, 2.6), sharey=True)
edges = np.arange(0.5, 31)
axes[0].hist([len(p.split()) for p in {p for p, *_ in train}], edges,
             density=True, histtype="step", color="k")
axes[0].set(xlabel="tokens in a premise", ylabel="share")
means = []
for label, style in enumerate(("-", "--", "-.")):
    sizes = [len(h.split()) for _, h, y in train if y == label]
    means.append(np.mean(sizes))
    axes[1].hist(sizes, edges, density=True, histtype="step", lw=1.5,
                 color=f"C{label}", linestyle=style, label=LABELS[label])
axes[1].set(xlabel="tokens in a hypothesis")
axes[1].legend()
d2l.describe(axes, """Left a histogram of the lengths of premises, most of
    them between 8 and 25 tokens with the full stop. Right three histograms
    of the lengths of hypotheses, one for each label: all have their peak
    between 6 and 8 tokens; that of neutral hypotheses reaches farther to
    long ones, that of entailment to short ones.""")
print("mean lengths of hypotheses: " + ", ".join(
    f"{label} {m:.2f}" for label, m in zip(LABELS, means)))
assert not real or means[0] < means[1] < means[2] and means[2] > means[0] + 1

# %% [markdown]
# **Figure 16.4.2.** Lengths in the training part (lengths above 30 not drawn). On average hypotheses are shorter than premises, and neutral ones longer than the other two kinds.

# %% [markdown]
# ## Shortcuts
#
# ### Words that betray the label
#
# Figure 16.4.2 is a first warning: the length of the hypothesis alone says something about the label.
# So do its words.
# The *pointwise mutual information* of a word $w$ and a label $y$ compares how often they meet with how often they would if they were independent:
#
# $$\operatorname{PMI}(w,y)=\log_2\frac{P(w,y)}{P(w)\,P(y)},\qquad P(w,y)=\frac{n_{wy}+s}{\sum_{w',y'}(n_{w'y'}+s)}.\tag{16.4.2}$$
#
# Here $n_{wy}$ is the number of hypotheses of label $y$ that hold $w$, $P(w)$ and $P(y)$ are the sums of $P(w,y)$ over $y$ and over $w$, and $s$ is a constant that keeps rare words from the top: with $s=10$ a word found once, under one label, has $\log_2(3\cdot\frac{11}{31})\approx0.09$ bits if the labels are equally frequent.
# Up to the smoothing, a PMI of 1 bit means twice as often as under independence.
# Gururangan and others (2018) rank the words of SNLI's training part in this way; on our smaller set we take $s=10$.

# %% tags=["export"]
def pmi_words(pairs, label, k=8, smooth=10):
    """The k words of hypotheses that point most to a label.

    `pairs` are (premise, hypothesis, label). Returns a list of (word, PMI
    in bits, hypotheses of this label with the word, all hypotheses with
    it), the highest PMI first, equal ones by the word. `smooth` is added
    to every count. After Gururangan et al. (2018), arXiv:1803.02324.
    """
    if label not in range(len(LABELS)) or not smooth > 0:
        raise ValueError(f"label is {label!r}, smooth {smooth!r}; use 0, 1 "
                         "or 2 and a positive number.")
    found = Counter((w, y) for _, h, y in pairs
                    for w in set(h.lower().split()))
    words = sorted({w for w, _ in found})
    counts = np.array([[found[w, y] for y in range(len(LABELS))]
                       for w in words])  # (words, labels)
    joint = counts + smooth
    pmi = np.log2(joint[:, label] / joint.sum(1) * joint.sum()
                  / joint[:, label].sum())
    order = np.argsort(-pmi, kind="stable")[:k]
    return [(words[i], float(pmi[i]), int(counts[i, label]),
             int(counts[i].sum())) for i in order]

# %%
for label, name in enumerate(LABELS):
    print(f"{name:13} " + ", ".join(
        f"{w} {n}/{m}" for w, _, n, m in pmi_words(data.train, label, 6)))


def words_of(pairs):
    """Which hypothesis holds which word, (words, pairs), and the labels."""
    table = CountVectorizer(analyzer=lambda h: set(h.lower().split()))
    return table.fit_transform([h for _, h, _ in pairs]).T, np.array(
        [y for *_, y in pairs])


def top_pmi(held, labels, smooth=10):
    """The highest PMI of a word with each label, (3,)."""
    joint = held @ np.eye(3)[labels] + smooth  # (words, 3)
    return np.log2(joint / joint.sum(1, keepdims=True)
                   * joint.sum() / joint.sum(0)).max(0)


def shuffled_pmi(held, labels, rng, times=100):
    """The highest PMI of any word, for each shuffling of the labels."""
    return np.array([top_pmi(held, rng.permutation(labels)).max()
                     for _ in range(times)])


held, labels = words_of(data.train)
top = top_pmi(held, labels)
noise = shuffled_pmi(held, labels, np.random.default_rng(seed))
print("highest PMI in bits, labels as they are", np.round(top, 2),
      f"and in 100 shufflings {noise.min():.2f} to {noise.max():.2f}")

# %% tags=["hide-input"]
tiny = [("", "a b", 0), ("", "a", 1), ("", "a a", 2), ("", "c", 1)]
assert pmi_words(tiny, 0, 1, 1) == [("b", np.log2(2 / 4 * 14 / 5), 1, 1)]
assert [w for w, *_ in pmi_words(tiny, 1, 3, 1)] == ["c", "a", "b"]
for wrong in ((tiny, 3), (tiny, 0, 1, 0)):
    try:
        pmi_words(*wrong)
        raise AssertionError("wrong arguments were accepted")
    except ValueError as error:
        assert "label is" in str(error)
np.testing.assert_allclose(
    top, [pmi_words(data.train, y, 1)[0][1] for y in range(3)])
if real and seed == 0:
    first = [{w for w, *_ in pmi_words(data.train, y, 6)} for y in range(3)]
    assert {"outdoors", "outside"} <= first[0]
    assert {"nobody", "sleeping", "cat"} <= first[1]
    assert {"tall", "for"} <= first[2]
    assert np.log2(3) > min(top) > 1 > 1.2 * noise.max()
    assert 0.4 < noise.min() < np.median(noise) < 0.6 < noise.max()
    nobody, = (x for x in pmi_words(data.train, 1) if x[0] == "nobody")
    assert nobody[2] == nobody[3] == 82

# %% [markdown]
# Shuffled labels give the noise of such a list: among thousands of words the luckiest reaches between 0.4 and 0.7 bits by chance.
# What lies above all hundred shufflings, say the words above 1 bit, is hardly an accident; with three labels of equal frequency the most a word can have is $\log_23\approx1.58$ bits.
#
# The words look like habits of the writers.
# What surely follows is a more general caption ("outdoors", "animal"); what is ruled out is often a scene without people or with sleeping ones (each of the 82 hypotheses with "nobody" is a contradiction); what may or may not be gets a purpose or a trait ("for", "tall").
# Such traces of how a data set was made are called *annotation artifacts*.
#
# ### Half of the input
#
# If single words say so much, how far does a classifier get that never sees the premise?
# Three papers of the spring of 2018 asked this of SNLI: Gururangan and others report about 67 % for a simple text classifier, Tsuchiya finds that the corpus allows labels to be predicted from hypotheses, and Poliak and others propose this *hypothesis-only baseline* as a diagnosis and find it well above the majority on several of ten data sets.
# We take logistic regression on sets of words, and let it see more and more.

# %% tags=["export"]
def pair_features(premise, hypothesis, kind):
    """Words of a pair as features: a dict from names to numbers.

    `kind` says what a classifier may see: "premise", "hypothesis", "both"
    bags of words, or "overlap": the words of the hypothesis, once more
    those that the premise lacks, and the share that it has.
    """
    p, h = (dict.fromkeys(s.lower().split()) for s in (premise, hypothesis))
    if kind not in ("premise", "hypothesis", "both", "overlap"):
        raise ValueError(f'kind is {kind!r}; use "premise", "hypothesis", '
                         '"both" or "overlap".')
    names = [f"p {w}" for w in p] if kind in ("premise", "both") else []
    if kind != "premise":
        names += [f"h {w}" for w in h]
    if kind == "overlap":
        new = [w for w in h if w not in p]
        share = 1 - len(new) / max(len(h), 1)
        return dict.fromkeys(names + [f"new {w}" for w in new], 1.0) | {
            "share": share}
    return dict.fromkeys(names, 1.0)

# %% tags=["export"]
def linear_predictions(train, test, kind):
    """Labels (n,) that a linear classifier gives the pairs `test`.

    `train` and `test` are lists of (premise, hypothesis, label); logistic
    regression with L2 penalty 1/2, on the features of `pair_features`.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    table = DictVectorizer()
    X = table.fit_transform([pair_features(p, h, kind) for p, h, _ in train])
    model = LogisticRegression(max_iter=2000)
    model.fit(X, [label for *_, label in train])
    return model.predict(table.transform(
        [pair_features(p, h, kind) for p, h, _ in test]))


def hypothesis_only_accuracy(data):
    """Test accuracy of a linear classifier that sees no premise.

    `data` has lists `train` and `test` of (premise, hypothesis, label),
    as `NLIData` does.
    """
    answers = linear_predictions(data.train, data.test, "hypothesis")
    return float(np.mean(answers == [label for *_, label in data.test]))

# %% tags=["hide-input"]
seen = {"premise": ["p a", "p dog"], "hypothesis": ["h a", "h cat"],
        "both": ["h a", "h cat", "p a", "p dog"],
        "overlap": ["h a", "h cat", "new cat", "share"]}
for kind, names in seen.items():
    features = pair_features("A dog", "a cat", kind)
    assert sorted(features) == names
    assert features.pop("share", 0.5) == 0.5
    assert set(features.values()) == {1.0}
assert pair_features("a b", "", "overlap") == {"share": 1.0}
for wrong in (lambda: pair_features("a", "b", "all"),
              lambda: say(Scene("dog", None, None, None))):
    try:
        wrong()
        raise AssertionError("wrong arguments were accepted")
    except ValueError as error:
        assert any(w in str(error) for w in ("'all'", "dog"))

# %%
KINDS = ("premise", "hypothesis", "both", "overlap")
probes = [("the man pushes the woman .", h, 0) for h in (
    "the man pushes the woman .", "the woman pushes the man .")]
answers = {kind: linear_predictions(data.train, data.test + probes, kind)
           for kind in KINDS}
majority = np.bincount([y for *_, y in data.train]).argmax()
ladder = {"majority": accuracy(majority, data.test)} | {
    kind: accuracy(answers[kind][:-2], data.test) for kind in KINDS}
for name, (right, error) in ladder.items():
    print(f"{name:10} {right:.3f} ± {error:.3f}")


def mcnemar(first, second, test):
    """p-value for two lists of answers to the same pairs."""
    truth = np.array([y for *_, y in test])
    gained = int(((first != truth) & (second == truth)).sum())
    lost = int(((first == truth) & (second != truth)).sum())
    n = gained + lost
    return gained, lost, binomtest(gained, n).pvalue if n else 1.0


tests = [mcnemar(answers["hypothesis"][:-2], answers[b][:-2], data.test)
         for b in ("both", "overlap")]
for b, (gained, lost, p_value) in zip(("both", "overlap"), tests):
    print(f"to {b}: {gained} gained, {lost} lost, p = {p_value:.2g}")

# %%
# check 16.4-C8: the ladder, on this split and on two others
others = {"hypothesis": [], "overlap": []}
texts = [p for p, *_ in pairs]
for other in (1, 2):
    rows = premise_split(texts, seed + other)
    split = [[pairs[i] for i in part] for part in rows]
    for kind, values in others.items():
        values.append(accuracy(linear_predictions(*split, kind),
                               split[1])[0])
print({kind: np.round(values, 3).tolist() for kind, values in others.items()})
right = {name: value for name, (value, _) in ladder.items()}
assert hypothesis_only_accuracy(SimpleNamespace(
    train=data.train[:3000], test=data.test)) == accuracy(
        linear_predictions(data.train[:3000], data.test, "hypothesis"),
        data.test)[0]
for name, (gained, lost, _) in zip(("both", "overlap"), tests):
    change = (right[name] - right["hypothesis"]) * len(data.test)
    assert round(change) == gained - lost
if real and seed == 0:
    for name, value in {"majority": 0.348, "premise": 0.335, "both": 0.599,
                        "hypothesis": 0.604, "overlap": 0.686}.items():
        assert abs(right[name] - value) < 0.02
    assert right["hypothesis"] > right["premise"] + 0.2
    assert max(right.values()) < leak["random split"][0] - 0.02
    assert max(tests[0][2], 10**4 * tests[1][2]) < 0.05
    assert all(abs(v - right[kind]) < 0.02
               for kind, values in others.items() for v in values)
    for values in zip(*others.values()):
        assert values[1] > values[0] + 0.05

# %% [markdown]
# Read the printed ladder from the top.
# The premise alone is at the level of always giving the same answer, as expected: most premises come with all three labels.
# The hypothesis alone is right in three of five.
# Both bags of words together are not better, and here slightly worse (the last lines are McNemar's test of [Section 4.6](../04-linear-classification/06-generalization-classification.ipynb): of the pairs that only one of two classifiers gets right, how many are gained, how many lost).
# No weight of this linear model belongs to a pair of words, one from each side: for the two bags $\mathbf x_p,\mathbf x_h$ the scores of the labels are $\mathbf U\mathbf x_p+\mathbf V\mathbf x_h+\mathbf b$, so a given premise moves them by the same amount whatever the hypothesis.
# The model cannot ask whether a word of one side occurs in the other; all it can compare is what adds up, such as how much each side says.
# Features of the pair help: the words of the hypothesis that are absent from the premise, and the share that is present.
# The last rung is the line that any network of the next sections has to beat; 33 % would be the wrong one.
#
# ### Overlap
#
# But what has the last rung learned?
# Its features are sets of words, so it cannot tell these two hypotheses apart:

# %%
for (p, h, _), answer in zip(probes, answers["overlap"][-2:]):
    print(f"{p} -> {h} {LABELS[answer]}")
assert answers["overlap"][-2] == answers["overlap"][-1]
assert pair_features(*probes[0][:2], "overlap") == pair_features(
    *probes[1][:2], "overlap")
assert not real or answers["overlap"][-1] == 0

# %% [markdown]
# Who pushes whom is lost, and both are called entailment.
# That the two get the same label is so by construction here, but trust in overlap is no fault of simple models only: McCoy, Pavlick and Linzen (2019) wrote HANS, a set with many pairs on which "all words of the hypothesis are in the premise, so it follows" fails, and models trained on MultiNLI, the successor of SNLI with texts of many genres, did very poorly on it, BERT among them.
#
# ## A data set without a tell
#
# In the toy world we can do what crowd workers could not: draw the hypothesis *before* the label.
# Then by construction it knows nothing about the label, and the premise has to make the difference.

# %% tags=["export"]
class ToyNLI:
    """Pairs whose label cannot be told from the hypothesis.

    `pairs` are `n` triples (premise, hypothesis, label), one third of each
    label, in random order. The hypothesis is drawn before the label is
    looked at; then the premise states at least as much (entailment), the
    opposite of one stated adjective or verb (contradiction), or all but
    one stated fact (neutral), and further facts at random. The same
    `seed`, the same pairs.
    """

    def __init__(self, n, seed=0):
        if n < 1:
            raise ValueError(f"n is {n}; at least one pair is needed.")
        self.world = ToyWorld(seed)
        self.rng = self.world.rng
        self.pairs = []
        for label in self.rng.permutation(np.arange(n) % 3).tolist():
            hypothesis = self.hypothesis()
            premise = self.premise(hypothesis, label)
            self.pairs.append((say(premise), say(hypothesis), label))

    def hypothesis(self):
        """A scene that states an adjective or a verb, and perhaps more."""
        while True:
            noun, *rest = self.world.scene()
            if self.rng.random() < 0.3:
                noun = ToyWorld.kinds[noun]
            rest = [word if self.rng.random() < 0.5 else None
                    for word in rest]
            if rest[0] or rest[1]:
                return Scene(noun, *rest)

# %% tags=["export"]
@add_to_class(ToyNLI)
def premise(self, hypothesis, label):
    """A scene to which `hypothesis` stands in the relation `label`."""
    stated = [part for part in Scene._fields if getattr(hypothesis, part)
              and (part != "noun" or hypothesis.noun in ToyWorld.kinds)]
    if label == 1:  # only these have opposites
        stated = [p for p in stated if p in ("adjective", "verb")]
    part = stated[int(self.rng.integers(len(stated)))]
    word = getattr(hypothesis, part)
    while True:
        more = self.world.scene()
        if hypothesis.noun not in ToyWorld.kinds:  # a kind: perhaps narrow
            while ToyWorld.kinds[more.noun] != hypothesis.noun:
                more = self.world.scene()
        facts = [said or (extra if self.rng.random() < 0.5 else None)
                 for said, extra in zip(hypothesis, more)]
        if hypothesis.noun not in ToyWorld.kinds and self.rng.random() < 0.5:
            facts[0] = more.noun
        scene = Scene(*facts)
        if label == 1:
            scene = scene._replace(**{part: ToyWorld.opposites[word]})
        elif label == 2:
            scene = scene._replace(
                **{part: ToyWorld.kinds.get(word)})  # a noun: its kind
        if any(scene[1:]):  # else it would be no sentence
            return scene

# %%
toy = NLIData("toy", seed=seed)
for premise, hypothesis, label in toy.train[:4]:
    print(f"{premise:34} {hypothesis:34} {LABELS[label]}")
words = {w for *s, _ in toy.train for w in " ".join(s).split()}
lengths = {len(s.split()) for *both, _ in toy.train for s in both}
print(f"{len(words)} words, {min(lengths)} to {max(lengths)} in a sentence")
assert words <= set(ToyWorld.words) and len(words) == 37
assert lengths <= set(range(3, 8))
assert len(toy.vocab) == 39  # with <pad> and <unk>
assert toy.source == "toy" and NLIData("toy", seed=seed + 1).test == toy.test
assert NLIData("toy", split_seed=1).test != toy.test

# %% [markdown]
# Each label was realized by a recipe; that the recipe is right is checked against the rules, from the text alone, and the rules against the definition (16.4.1), world by world.

# %%
# check 16.4-C3: recipe, rules and worlds agree
everything = toy.train + toy.test
table = {s: worlds(scene_of(s)) for *both, _ in everything for s in both}
for premise, hypothesis, label in everything:
    assert relation(scene_of(premise), scene_of(hypothesis)) == label
    assert by_worlds(table[premise], table[hypothesis]) == label
    assert say(scene_of(premise)) == premise
rng = np.random.default_rng(seed)
sentences, seen = list(table), [0, 0, 0]
for i, j in rng.integers(len(sentences), size=(3000, 2)):  # any two
    a, b = sentences[i], sentences[j]
    answer = by_worlds(table[a], table[b])
    seen[answer] += 1
    assert relation(scene_of(a), scene_of(b)) == answer
print(f"{len(everything)} pairs agree; of 3000 pairs drawn at random "
      f"{seen[0]} entail, {seen[1]} contradict, {seen[2]} are neutral")
assert min(seen) > 0
assert ToyNLI(50, 1).pairs == ToyNLI(50, 1).pairs != ToyNLI(50, 2).pairs
orders = [[y for *_, y in ToyNLI(99, i).pairs] for i in range(3)]
assert all(np.bincount(y).tolist() == [33] * 3 for y in orders)
assert orders[0] != orders[1] != orders[2]

# %% [markdown]
# Is the label independent of the hypothesis?
# Count how often each hypothesis $h$ meets each label, $n_{hy}$, and take the statistic $\chi^2=\sum_{h,y}(n_{hy}-e_{hy})^2/e_{hy}$ with the counts $e_{hy}$ that independence would let us expect.
# Most hypotheses occur only once or twice, too few for the usual table, so we compare with the same statistic after shuffling the labels many times: under independence the real one is just one more shuffle.

# %%
def chi_square(groups, labels):
    """The statistic of independence for groups (n,) and labels (n,)."""
    n = np.zeros((groups.max() + 1, 3))
    np.add.at(n, (groups, labels), 1)
    expected = n.sum(1, keepdims=True) * n.sum(0) / n.sum()
    return ((n - expected) ** 2 / expected).sum()


def shuffle_test(pairs, rng):
    """p-value for "the label does not depend on the hypothesis"."""
    groups = np.unique([h for _, h, _ in pairs], return_inverse=True)[1]
    labels = np.array([y for *_, y in pairs])
    real = chi_square(groups, labels)
    shuffled = [chi_square(groups, rng.permutation(labels))
                for _ in range(num_shuffles)]
    return (1 + sum(s >= real for s in shuffled)) / (1 + num_shuffles)


# %%
# the same recipe, but hypotheses of contradictions have an adjective
rng = np.random.default_rng(seed)
wanted = [pair for pair in everything + ToyNLI(7000, seed + 1).pairs
          if pair[2] == 1 and scene_of(pair[1]).adjective]
leaky = [pair for pair in everything if pair[2] != 1]
leaky += wanted[:len(everything) - len(leaky)]
leaky = [leaky[i] for i in rng.permutation(len(leaky))]
leaky = SimpleNamespace(train=leaky[:6000], test=leaky[6000:])
p_values = [shuffle_test(some.train, rng) for some in (toy, leaky)]
blind = [hypothesis_only_accuracy(some) for some in (toy, leaky)]
for name, p_value, right in zip(("ToyNLI", "leaky"), p_values, blind):
    print(f"{name:6} p = {p_value:.3f}, hypothesis only {right:.3f}")

# %%
# check 16.4-C4: the hypothesis knows nothing about the label
assert abs(chi_square(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0]))
           - 4 / 3) < 1e-12
assert p_values[0] > 0.001 and 0.28 < blind[0] < 0.39
assert p_values[1] < 2 / num_shuffles and blind[1] > 0.4

# %% [markdown]
# The control matters: a recipe that asks for an adjective in contradictions only is detected by both tests, so they could have failed.
# Now the whole ladder on ToyNLI.

# %%
toy_ladder = {"majority": (1 / 3, 0.0)} | {
    kind: accuracy(linear_predictions(toy.train, toy.test, kind), toy.test)
    for kind in KINDS}
for name, (right, error) in toy_ladder.items():
    print(f"{name:10} SNLI {ladder[name][0]:.3f}, ToyNLI {right:.3f} "
          f"± {error:.3f}")
told = []
for label, name in enumerate(LABELS):
    scenes = [scene_of(p) for p, _, y in toy.train if y == label]
    told.append((np.mean([sum(w is not None for w in s) for s in scenes]),
                 np.mean([s.noun not in ToyWorld.kinds for s in scenes])))
    print("{:13} {:.2f} facts in a premise, {:.0%} of them with a kind for "
          "a noun".format(name, *told[-1]))


def counts_accuracy(sides):
    """ToyNLI, seen: how many facts each side states, and if of a kind."""
    def seen(pairs):
        scenes = [[scene_of(pair[i]) for i in sides] for pair in pairs]
        return [[x for s in both for x in (
            sum(w is not None for w in s), s.noun in ToyWorld.kinds)]
            for both in scenes], [y for *_, y in pairs]
    return LogisticRegression().fit(*seen(toy.train)).score(*seen(toy.test))


by_count = [counts_accuracy(sides) for sides in ((0,), (0, 1))]
print("counts of the premise {:.3f}, of both {:.3f}".format(*by_count))

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), width_ratios=[1, 1.15])
bars = [("SNLI", data.train, "C0"), ("ToyNLI", toy.train, "C1")]
for i, (name, source, color) in enumerate(bars):
    rows = [(w, pmi, y) for y in range(3)
            for w, pmi, *_ in pmi_words(source, y, 3)]
    at = np.array([8 * y + 4 * i + r % 3 for r, (*_, y) in enumerate(rows)])
    axes[1].barh(-at, [pmi for _, pmi, _ in rows], color=color, label=name)
    for y, (word, pmi, _) in zip(-at, rows):
        axes[1].text(pmi + 0.02, y, word, va="center", fontsize=7)
axes[1].set_yticks([-3 - 8 * y for y in range(3)], LABELS, rotation=90,
                   va="center", fontsize=8)
axes[1].set(xlabel="PMI (bits)", xlim=(0, 1.6))
axes[1].axvline(noise.max(), color="k", ls=":", lw=1)
axes[1].grid(axis="y", visible=False)
axes[1].legend(loc="lower right", fontsize=7)
for i, steps in enumerate((ladder, toy_ladder)):
    axes[0].bar(np.arange(5) + 0.4 * i - 0.2, [v for v, _ in steps.values()],
                0.4, yerr=[2 * e for _, e in steps.values()],
                color=f"C{i}", label=bars[i][0])
axes[0].set_xticks(range(5), ladder, rotation=30)
axes[0].grid(axis="x", visible=False)
axes[0].set(ylabel="test accuracy", ylim=(0, 1))
axes[0].legend()
d2l.describe(axes, """Left bars of accuracy for what a linear classifier may
    see. SNLI: majority and premise near 0.34, hypothesis and both near 0.6,
    overlap 0.69. ToyNLI: majority and hypothesis near 0.33, premise 0.48,
    both 0.55, overlap 0.80. Right the words of highest PMI for each label:
    on SNLI about 1 bit or more, on ToyNLI below 0.3; a dotted line marks
    0.7.""")

# %% [markdown]
# **Figure 16.4.3.** Left: the ladder on both data sets, with two standard errors (ToyNLI's majority is the 1/3 of its construction, not a measurement). Right: the three words of highest PMI for each label; the dotted line is the highest of all words of SNLI in a hundred shufflings of the labels.

# %%
toy_held = words_of(toy.train)
toy_top = top_pmi(*toy_held).max()
toy_noise = shuffled_pmi(*toy_held, np.random.default_rng(seed))
print(f"highest PMI on ToyNLI {toy_top:.2f} bits, reached by "
      f"{np.mean(toy_noise >= toy_top):.0%} of 100 shufflings")
assert np.mean(toy_noise >= toy_top) > 0.02 or seed
assert toy_ladder["premise"][0] > 0.42 > 0.39 > toy_ladder["hypothesis"][0]
assert toy_ladder["both"][0] > toy_ladder["premise"][0] + 0.03
assert by_count[0] - 1 / 3 > 0.7 * (toy_ladder["premise"][0] - 1 / 3)
assert by_count[0] + 0.03 < by_count[1] < toy_ladder["both"][0]
assert min(told[:2])[0] > told[2][0] + 0.5 and told[2][1] > 0.3 > 0.2 > max(
    kinds for _, kinds in told[:2])
assert toy_ladder["overlap"][0] > 0.74
assert not real or toy_top < min(top) / 3

# %% [markdown]
# One door is closed, and another one stands open: the premise alone reaches almost one half.
# A neutral premise leaves out a fact, so it states fewer on average, and its noun is a kind more often; these two numbers alone give most of what the words of the premise give.
# We balanced one side of the pair and paid with the other.
# The two bags gain on the premise here, and part of the reason is that a linear model can compare how much each side says: the counts of both sides, too, do better than those of the premise.
# And word overlap solves more of ToyNLI than of SNLI.
# How far can sets of words go?

# %%
def by_sets(premise, hypothesis):
    """A label from two sets of words, with kinds and opposites known."""
    p, h = set(premise.split()), set(hypothesis.split())
    if any(ToyWorld.opposites.get(word) in p for word in h):
        return 1
    p |= {"is"} | {ToyWorld.kinds[word] for word in p & {*ToyWorld.kinds}}
    return 0 if h <= p else 2


def contained(pairs):
    """Share of entailed hypotheses whose words are all in the premise."""
    return np.mean([{*h.lower().split()} <= {*p.lower().split()}
                    for p, h, y in pairs if y == 0])


print(f"all words in the premise: {contained(toy.train):.0%} of the "
      f"entailed hypotheses of ToyNLI, {contained(data.train):.0%} of SNLI's")
assert all(by_sets(p, h) == y for p, h, y in everything)
assert contained(toy.train) > 0.6 and (
    not real or contained(data.train) < 0.15)

# %% [markdown]
# All the way: a rule that knows kinds and opposites, but no order of words, is right on every pair.
# So a hypothesis-only baseline at chance is no certificate: Feng, Wallace and Boyd-Graber (2019) build data sets whose trivial patterns no classifier of half of the input can see.
# What ToyNLI is good for is narrower: its labels are exact, and a model that never sees the premise beats chance by luck only.
# It cannot show that a model reads the order of words.
#
# ### Pairs seen before
#
# A world of 37 words repeats itself.

# %%
# check 16.4-C7: test pairs that occur in training, and how to drop them
def without_seen(train, test):
    """The pairs of `test` whose two sentences are no pair of `train`."""
    seen = {(p, h) for p, h, _ in train}
    return [pair for pair in test if pair[:2] not in seen]


fresh = without_seen(toy.train, toy.test)
share = 1 - len(fresh) / len(toy.test)
print(f"{share:.1%} of ToyNLI's test pairs occur in training, "
      f"{1 - len(without_seen(train, test)) / len(test):.1%} of SNLI's")
assert 0.05 < share < 0.2 and (seed or abs(1 / share - 9) < 0.5)
assert without_seen(toy.train, fresh) == fresh
assert not {p[:2] for p in fresh} & {p[:2] for p in toy.train}
assert set(fresh) <= set(toy.test)
assert without_seen(train, test) == test  # the premises are other ones

# %% [markdown]
# A model that has memorized its training pairs is right on one test pair in nine of this ToyNLI without knowing anything about entailment; where that matters, test on `fresh`, but count its labels first: few of the dropped pairs are neutral, so the three are no longer equally frequent.

# %% tags=["hide-input"]
if full_snli:
    official = NLIData("snli", min_freq=5)
    print(f"{len(official.train)} pairs, {len(official.vocab)} words")
    for kind in KINDS:
        print(kind, accuracy(linear_predictions(
            official.train, official.test, kind), official.test))

# %% [markdown]
# ## Where this stands today
#
# Inference is rarely used to evaluate language models any more, but Madaan and others (2025), with five benchmarks and six models, find that it still separates models at various stages of training well, and that not all of the benchmarks are saturated.
# The artifacts have outlived the crowd workers: Proebsting and Poliak (2024) let GPT-4, Llama 2 and Mistral 7B write hypotheses under SNLI's instructions, and classifiers built on BERT that saw nothing but the hypothesis reached 86 to 96 %.
# Nor is a single label always the truth: Nie, Zhou and Bansal (2020) took some 3100 pairs of SNLI and MultiNLI on which only three of the five first judges had agreed, and collected a hundred new judgements for each; a noticeable part of these pairs showed high disagreement, and there the models of the time were hardly better than a random guess.
# Meanwhile the task has become a tool: Farquhar and others (2024) group sampled answers of a language model by whether each entails the other, and take the entropy over these meanings as a sign of invented answers (Exercise 16.4-2).

# %% [markdown]
# ## Summary
#
# - Entailment is inclusion of worlds, contradiction is disjointness; the rest is neutral. In a small world this can be checked by enumeration.
# - Examples made together stay together: on a random split of our SNLI pairs, counting labels of the same premise is right in 73 % of the cases without reading a hypothesis.
# - On our split of SNLI the hypothesis alone gives about 0.60, and a linear classifier with features of overlap 0.69: this, not 1/3, is the line for a network.
# - A linear classifier on two separate bags of words cannot ask whether a word of one side occurs in the other; it can compare how much the sides say.
# - ToyNLI's hypotheses tell nothing about the label, but its premises do, and two sets of words decide it. Passing one test for shortcuts says nothing about the others.

# %% [markdown]
# ## Exercises
# %% [markdown]
# ### Exercise 16.4-1
#
# Plant an artifact in ToyNLI: put "not" before the last word of half of the contradicting hypotheses, and of no others.
# Do the three tests of this section find it: PMI, the shuffled labels, and the classifier that sees the hypothesis only?

# %% [markdown]
# #### Solution 16.4-1

# %%
def plant(pairs, rng):
    """The pairs with a "not" in half of the contradicting hypotheses."""
    planted = []
    for premise, hypothesis, label in pairs:
        *start, last = hypothesis.split()
        if label == 1 and rng.random() < 0.5:
            hypothesis = " ".join([*start, "not", last])
        planted.append((premise, hypothesis, label))
    return planted


rng = np.random.default_rng(seed)
planted = SimpleNamespace(train=plant(toy.train, rng),
                          test=plant(toy.test, rng))
word, pmi, hits, total = pmi_words(planted.train, 1, 1)[0]
blind = hypothesis_only_accuracy(planted)
p_value = shuffle_test(planted.train, rng)
print(f"{word!r}: {pmi:.2f} bits, {hits} of {total}; p = {p_value:.3f}; "
      f"hypothesis only {blind:.3f}")
assert word == "not" and hits == total and pmi > 1 and blind > 0.4
assert p_value < 2 / num_shuffles and abs(blind - 1 / 2) < 0.05
assert abs(hits - 1000) < 150

# %% [markdown]
# All three do.
# A sixth of all pairs is given away.
# Of the other five sixths, two fifths are entailment, two fifths are neutral and one fifth is contradiction, so a classifier that answers one of the first two there is right on $\frac16+\frac56\cdot\frac25=\frac12$ of all pairs.

# %% [markdown]
# ### Exercise 16.4-2
#
# Use entailment to judge translations: a translation is right if source and translation entail each other.
# In the toy world, let a "translator" leave out a fact, add one, or swap one for its opposite.
# What does each direction of the test find?

# %% [markdown]
# #### Solution 16.4-2

# %%
both_ways = Counter()
full = [s for s in map(scene_of, sorted(table))
        if None not in s and s.noun in ToyWorld.kinds]
for scene in full:
    cases = [("none", scene, scene)]
    for part in ("adjective", "verb", "place"):
        less = scene._replace(**{part: None})
        cases += [("left out", scene, less), ("added", less, scene)]
        if part != "place":
            other = ToyWorld.opposites[getattr(scene, part)]
            cases.append(("opposite", scene,
                          scene._replace(**{part: other})))
    for fault, source, output in cases:
        output = scene_of(say(output))
        both_ways[fault, entails(source, output),
                  entails(output, source)] += 1
for (fault, forth, back), count in both_ways.items():
    print(f"{fault:9} source entails output: {forth}, "
          f"output entails source: {back} ({count})")
assert dict(both_ways) == {
    ("none", True, True): len(full), ("left out", True, False):
    3 * len(full), ("added", False, True): 3 * len(full),
    ("opposite", False, False): 2 * len(full)}
some = sorted(table)[::15]  # whole and partial scenes
pairs_both = [(a, b) for a in some for b in some
              if not by_worlds(table[a], table[b])
              and not by_worlds(table[b], table[a])]
assert pairs_both == [(a, a) for a in some] and len(some) > 100

# %% [markdown]
# "Source entails output" finds what was added, "output entails source" what was left out, and an opposite fails both.
# Two sentences pass in both directions exactly if they are true in the same worlds, as two sets that contain each other are equal; in the toy world only a sentence and itself are.
# A model of entailment is not this oracle, so such a score inherits its shortcuts.

# %% [markdown]
# ### Exercise 16.4-3
#
# How do the vocabulary of SNLI's training part and the share of `<unk>` among the test tokens depend on `min_freq`?

# %% [markdown]
# #### Solution 16.4-3

# %%
train_words = Counter(w for p, h, _ in data.train
                      for w in f"{p} {h}".lower().split())
test_words = [w for p, h, _ in data.test for w in f"{p} {h}".lower().split()]
kept, unknown = [], []
for min_freq in (1, 2, 5, 10, 20):
    kept.append({w for w, n in train_words.items() if n >= min_freq})
    unknown.append(np.mean([w not in kept[-1] for w in test_words]))
    print(f"min_freq {min_freq:2}: {len(kept[-1]) + 2:5} entries, "
          f"{unknown[-1]:.2%} of the test tokens unknown")
assert len(kept[1]) + 2 == len(data.vocab)
assert all(a >= b for a, b in zip(kept, kept[1:]))
assert unknown == sorted(unknown) and unknown[0] > 0 or not real
assert not real or 0.03 < unknown[2] < 0.05 and (
    len(kept[2]) < 0.45 * len(kept[0])
    and abs(unknown[0] / unknown[2] - 0.5) < 0.05)

# %% [markdown]
# Most words are rare: `min_freq=5` drops more than half of the vocabulary, and about 4 % of the test tokens are then unknown, of which half never occur in training anyway.

# %% [markdown]
# ### Exercise 16.4-4
#
# Is entailment transitive?
# And neutral?
# What follows if $a$ entails $b$ and $b$ contradicts $c$?
# Prove the answers from (16.4.1), and test them on all triples of some fifty scenes.

# %% [markdown]
# #### Solution 16.4-4

# %% [markdown]
# $W(a)\subseteq W(b)\subseteq W(c)$ gives $W(a)\subseteq W(c)$: entailment is transitive.
# If $W(a)\subseteq W(b)$ and $W(b)\cap W(c)=\emptyset$, then $W(a)\cap W(c)=\emptyset$: $a$ contradicts $c$.
# Neutral is not transitive: two neutral steps may end in any of the three.
# From "the dog is big" via "the dog waits" to "the dog is small" they end in contradiction, from "the big dog waits" via "the dog is near the river" to "the dog waits" in entailment.
# Nor is it symmetric: with the premise "the dog waits" the hypothesis "the big dog waits" is neutral, and the other way round it is entailment.

# %%
short = [Scene(*parts) for parts in itertools.product(
    ("dog", "animal", "cat"), ("big", "small", None),
    ("waits", "leaves", None), ("river", None)) if any(parts[1:])]
R = np.array([[relation(a, b) for b in short] for a in short])
first, second = R[:, :, None], R[None, :, :]  # a to b, b to c
whole = np.broadcast_to(R[:, None, :], (len(short),) * 3)  # a to c
for x, y in ((0, 0), (0, 1), (2, 2)):
    chain = whole[(first == x) & (second == y)]
    print(f"{LABELS[x]}, then {LABELS[y]}: {len(chain)} chains, "
          f"{np.bincount(chain, minlength=3)} end in 0, 1, 2")
    assert len(chain) > 500
    assert set(chain.tolist()) == {(0, 0): {0}, (0, 1): {1},
                                   (2, 2): {0, 1, 2}}[x, y]
assert (R.diagonal() == 0).all() and ((R == 1) == (R == 1).T).all()
a, b = scene_of("the dog waits"), scene_of("the big dog waits")
assert relation(a, b) == 2 and relation(b, a) == 0

# %% [markdown]
# ## Sources
#
# - S. R. Bowman, G. Angeli, C. Potts, C. D. Manning (2015). A large annotated corpus for learning natural language inference. [arXiv:1508.05326](https://arxiv.org/abs/1508.05326): SNLI. We read the copy of the next work.
# - O.-M. Camburu, T. Rocktäschel, T. Lukasiewicz, P. Blunsom (2018). e-SNLI: natural language inference with natural language explanations. [arXiv:1812.01193](https://arxiv.org/abs/1812.01193).
# - S. Gururangan and others (2018). Annotation artifacts in natural language inference data. [arXiv:1803.02324](https://arxiv.org/abs/1803.02324).
# - A. Poliak, J. Naradowsky, A. Haldar, R. Rudinger, B. Van Durme (2018). Hypothesis only baselines in natural language inference. [arXiv:1805.01042](https://arxiv.org/abs/1805.01042).
# - M. Tsuchiya (2018). Performance impact caused by hidden bias of training data for recognizing textual entailment. [arXiv:1804.08117](https://arxiv.org/abs/1804.08117).
# - R. T. McCoy, E. Pavlick, T. Linzen (2019). Right for the wrong reasons: diagnosing syntactic heuristics in natural language inference. [arXiv:1902.01007](https://arxiv.org/abs/1902.01007): HANS.
# - S. Feng, E. Wallace, J. Boyd-Graber (2019). Misleading failures of partial-input baselines. [arXiv:1905.05778](https://arxiv.org/abs/1905.05778).
# - Y. Nie, X. Zhou, M. Bansal (2020). What can we learn from collective human opinions on natural language inference data? [arXiv:2010.03532](https://arxiv.org/abs/2010.03532).
# - G. Proebsting, A. Poliak (2024). Hypothesis-only biases in large language model-elicited natural language inference. [arXiv:2410.08996](https://arxiv.org/abs/2410.08996).
# - S. Farquhar, J. Kossen, L. Kuhn, Y. Gal (2024). Detecting hallucinations in large language models using semantic entropy. Nature 630. [doi:10.1038/s41586-024-07421-0](https://doi.org/10.1038/s41586-024-07421-0).
# - L. Madaan, D. Esiobu, P. Stenetorp, B. Plank, D. Hupkes (2025). Lost in inference: rediscovering the role of natural language inference for large language models. [arXiv:2411.14103](https://arxiv.org/abs/2411.14103).
