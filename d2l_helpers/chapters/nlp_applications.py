"""Chapter 16, Natural language processing: applications: what its sections teach and later ones use.

Generated from book/16-nlp-applications/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import json
import numpy as np
import torch
import zipfile
from collections import Counter
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.nlp_pretraining import premise_split
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import Scene
from d2l_helpers.texts import ToyWorld
from pathlib import Path


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
@add_to_class(NLIData)
def get_dataloader(self, train):
    """Batches of the training part, shuffled, or of the test part."""
    return d2l.BatchLoader(
        self.tensors["train" if train else "test"], self.batch_size,
        shuffle=train, generator=self.generator,
        transform=lambda p, h, y: ((p, h), y))


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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


# 16.4 Natural language inference and the dataset
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
