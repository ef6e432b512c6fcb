# ---
# jupyter:
#   d2l:
#     data: [cifar10-jpeg, efficientnet-lite0]
#     profiles:
#       gpu:
#         per_class: 1000
#         test_per_class: 200
#         width: 4
#         num_epochs: 30
#         decay: 0.99
#         tune: true
#       smoke:
#         per_class: 20
#         test_per_class: 10
#         num_epochs: 1
#     rehearsal:
#       per_class: 0.04
#       test_per_class: 0.1
#       width: 0.5
#       num_epochs: 0.1
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
# # 14.13 Image classification (CIFAR-10) as a competition
#
# Until now the labels of the test pictures lay beside them, and we scored our own answers.
# A competition hands out folders of files and one table, and wants another table back.
# Between the two, many small mistakes turn a good network into a bad score without any error message.
# This section goes the whole way, makes some well-known mistakes of this kind on purpose, and measures what a schedule with label smoothing and averaged weights add to a baseline.
#
# **You will**
#
# - go from picture files and a table of labels to a checked submission;
# - see what a forgotten `eval()`, a dropped batch and two orders of names do to a score;
# - compare training recipes at equal updates, on validation pictures only, and say which differences the data can support;
# - find copies of test pictures in the training set that no checksum finds.
#
# **Cost**: less than a minute on a CPU; downloads of tens of MB (a whole collection of pictures, of which 11 MB are kept) and of 17 MB, once.

# %%
import copy
import csv
import hashlib
import io
import itertools
import math
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, Dataset

import d2l_helpers as d2l
from d2l_helpers.chapters.computer_vision import (
    Compose, accuracy, evaluate, evaluating, train_ch14)
from d2l_helpers.chapters.linear_classification import (
    calibration_error, confusion_matrix, error_interval, reliability)
from d2l_helpers.chapters.modern_cnns import augment_batch
from d2l_helpers.chapters.optimization import EMA
from d2l_helpers.pictures import read_images
from d2l_helpers.pretrained import efficientnet_lite0

d2l.use_style()

# %% tags=["parameters"]
per_class = 400  # training files of each of ten classes
test_per_class = 100
width = 1  # multiplies the channels of the network
num_epochs = 6
decay = 0.9  # of the averaged weights, for each step
tune = False  # True: choose the learning rates anew

# %% [markdown]
# ## What the organizers hand out
#
# From 2013 to 2014 the platform Kaggle ran the competition "CIFAR-10: Object Recognition in Images".
# A participant got 50 000 training pictures as PNG files named by numbers, a table `trainLabels.csv` with the columns `id` and `label`, and 300 000 test pictures.
# Only 10 000 of these counted, the official test set of CIFAR-10 (Krizhevsky, 2009); the rest was there to discourage labelling by hand.
# The pictures that counted had been changed a little, so nobody could look them up by a checksum of the file.
# A table had to answer all 300 000, and its score was the accuracy on the 10 000.
#
# We play both parts.
# As organizers, we take some of our CIFAR-10 pictures, shuffle them, copy them under numbers, and keep the answers.

# %%
def write_image_files(found, root, per_class, test_per_class, seed=0):
    """Lay out a competition in the folder `root`; returns its secrets.

    The first files of each class of the data set `found` are copied,
    byte by byte, to root/train and root/test under shuffled numbers;
    root/trainLabels.csv has the labels of the first. The secrets: the
    labels {id: class} of the second, and {copy: original path} of all.
    """
    rng, origin = random.Random(seed), {}
    for part, count in (("train", per_class), ("test", test_per_class)):
        names = [name for name in found.files if name.startswith(part)
                 and int(Path(name).stem) < count]
        rng.shuffle(names)
        (root / part).mkdir()
        answers = {}
        for number, name in enumerate(names, 1):
            copied = root / part / f"{number}{Path(name).suffix}"
            shutil.copyfile(found.files[name], copied)
            origin[copied] = found.files[name]
            answers[str(number)] = Path(name).parent.name
        if part == "train":
            rows = [f"{key},{name}\n" for key, name in answers.items()]
            (root / "trainLabels.csv").write_text(
                "id,label\n" + "".join(rows), encoding="utf-8")
    return answers, origin

# %%
device = d2l.try_device(quiet=True)
found = d2l.fetch("cifar10-jpeg")
measured = found.is_real and (  # the numbers below hold for this
    per_class, test_per_class, width, num_epochs) == (400, 100, 1, 6)
scratch = tempfile.TemporaryDirectory()  # removed at the end
root = Path(scratch.name)
answers, origin = write_image_files(found, root, per_class, test_per_class)
for part in ("train", "test"):
    paths = sorted(path.name for path in (root / part).iterdir())
    print(f"{part}/  {len(paths)} files: {', '.join(paths[:6])}, ...")
table = (root / "trainLabels.csv").read_text(encoding="utf-8").split("\n")
print("trainLabels.csv ", *table[:4], "...", sep="  ")

# %% tags=["hide-input"]
shown = [root / "train" / f"{i}.jpg" for i in range(1, 13)]
axes = d2l.show_images(read_images(shown), 2, 6, [
    row.replace(",", " ") for row in table[1:13]], scale=1.1)
d2l.describe(axes, """Twelve training pictures of 32 by 32 pixels, each with
    its number and its label.""")

# %% [markdown]
# **Figure 14.13.1.** The first training files by number, with their labels.
# At 32 by 32 pixels many of them are not easy for us either.

# %% [markdown]
# Look at the order of the files, sorted by name: 1, 10, 100.
# We come back to it.
#
# Why copy bytes instead of loading pictures and saving them?
# Our files are JPEGs, and JPEG is lossy: a decoded picture that is saved again may come back changed.
# PNG keeps every pixel.

# %%
def resaved(X, kind, **options):
    """Bytes (3, h, w), written as a file of this kind and read again."""
    memory = io.BytesIO()
    Image.fromarray(X.permute(1, 2, 0).numpy()).save(memory, kind, **options)
    return torch.from_numpy(np.array(Image.open(memory))).permute(2, 0, 1)


copies = read_images(list(origin)[::10])
changed = {}
for kind, options in (("PNG", {}), ("JPEG", {"quality": 75}),
                      ("JPEG", {"quality": 95})):
    off = [(resaved(X, kind, **options).int() - X.int()).abs().max().item()
           for X in copies[:100]]  # largest change of each picture
    name = f"{kind} {options.get('quality', '')}"
    changed[name] = sum(value > 0 for value in off)
    print(f"{name:8s} {changed[name]:3d} of {len(off)} pictures changed, "
          f"by up to {max(off)} of 255")

# %%
# check 14.13-C2: copies decode to the originals; JPEG loses, PNG does not
assert torch.equal(copies, read_images(list(origin.values())[::10]))
assert len(origin) == len(set(origin.values())) == 10 * (
    per_class + test_per_class)
assert all(path.read_bytes() == source.read_bytes()
           for path, source in origin.items())
assert changed["PNG "] == 0 and changed["JPEG 95"] == len(copies[:100])
assert changed["JPEG 75"] > 0
if measured:  # the table of quantization is that of quality 75
    with Image.open(shown[0]) as first:
        first.save(again := io.BytesIO(), "JPEG", quality=75)
        assert Image.open(again).quantization == first.quantization
    assert changed["JPEG 75"] < 45  # most come back

# %% [markdown]
# The files of this collection were saved at quality 75; saved once more at 75, most come back as they were, and at the "better" quality 95 none does.
# So if a picture only has to move, copy its file.

# %% [markdown]
# ## Labels, and a split without copying
#
# From here on we are participants.
# Ids are names: we keep them as words, so a leading zero survives, and put them in numeric order only where all of them are numbers.

# %% tags=["export"]
def sort_ids(ids):
    """Ids in numeric order if all are whole numbers, else as words."""
    ids = list(ids)
    numeric = all(name.isdecimal() for name in ids)
    return sorted(ids, key=int if numeric else str)


def read_csv_labels(path):
    """{id: class} from a table with two columns, the first called "id".

    Ids stay words. Raises ValueError for another form, or if an id comes
    twice.
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if header[:1] != ["id"] or any(len(row) != 2
                                   for row in (header, *rows)):
        raise ValueError(f"{path} must have two columns in every row, the "
                         f"first called 'id'; its header is {header}.")
    labels = dict(rows)
    if len(labels) < len(rows):
        raise ValueError(f"{path} has {len(rows)} rows, but only "
                         f"{len(labels)} different ids.")
    return labels

# %% [markdown]
# Some pictures must be kept for validation.
# Many programs copy the files into folders `train/cat`, `valid/cat`, ...; two lists of ids do the same without copying a file, and a second split costs nothing.
# The split is *stratified*: of the $n$ pictures of a class,
#
# $$\max(\lfloor rn\rfloor,\,1) \tag{14.13.1}$$
#
# are for validation, where $r$ is the share that we want.
# With $r=0.1$, a class of 100 gives 10 and a class of 7 gives one.
# A split at random, without regard to classes, would leave a class of 7 out of validation nearly half of the time ($0.9^7\approx0.48$).

# %% tags=["export"]
def split_train_valid(labels, ratio, seed=0):
    """Two lists of ids, for training and for validation.

    `labels` is {id: class}. Of a class with n pictures, drawn by `seed`,
    max(floor(ratio * n), 1) are for validation. The order of `labels`
    does not matter.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio is {ratio}; it must be in [0, 1).")
    rng, train, valid = random.Random(seed), [], []
    for name in sorted(set(labels.values())):
        ids = sort_ids(key for key in labels if labels[key] == name)
        if len(ids) < 2:
            raise ValueError(f"class {name!r} has a single picture: none "
                             "would be left for training.")
        rng.shuffle(ids)
        count = max(int(ratio * len(ids) + 1e-9), 1)  # 0.29 * 100 < 29
        valid += ids[:count]
        train += ids[count:]
    return sort_ids(train), sort_ids(valid)

# %%
labels = read_csv_labels(root / "trainLabels.csv")
train_ids, valid_ids = split_train_valid(labels, ratio=0.25)
print(f"{len(train_ids)} for training, {len(valid_ids)} for validation")

# %%
# check 14.13-C1: stratified, disjoint, complete; by seed, not by order
assert sorted(train_ids + valid_ids) == sorted(labels)
assert not set(train_ids) & set(valid_ids)
assert all({"train": labels, "test": answers}[path.parent.name][path.stem]
           == source.parent.name for path, source in origin.items())
assert set(Counter(labels[i] for i in valid_ids).values()) == {per_class // 4}
toy = {str(i): "abcdefghij"[i % 10] for i in range(1000)}
_, tenth = split_train_valid(toy, 0.1)
assert Counter(toy[i] for i in tenth) == dict.fromkeys("abcdefghij", 10)
other = dict(reversed(toy.items()))
assert split_train_valid(other, 0.1)[1] == tenth == sort_ids(tenth)
assert split_train_valid(toy, 0.1, seed=1)[1] != tenth
assert len(split_train_valid(toy, 0.29)[1]) == 290  # 0.29 * 100 < 29
uneven = {str(i): "a" if i < 7 else "b" for i in range(9)}
for ratio, counts in ((0, {"a": 1, "b": 1}), (0.5, {"a": 3, "b": 1})):
    assert Counter(uneven[i] for i in split_train_valid(
        uneven, ratio)[1]) == counts
assert sort_ids(["10", "9", "1"]) == ["1", "9", "10"]
assert sort_ids(["b", "10", "9"]) == ["10", "9", "b"]

# %% tags=["hide-input"]
# check: what the tables and the split refuse
def refuses(call, kind=ValueError):
    try:
        call()
    except kind:
        return True
    return False


broken = root / "broken.csv"
for text in ("id,label\n1,cat\n1,dog\n", "id,label\n1,cat,dog\n",
             "name,label\n1,cat\n", "\nid,label\n1,cat\n", ""):
    broken.write_text(text, encoding="utf-8")
    assert refuses(lambda: read_csv_labels(broken))
broken.write_text("id,breed\n007,pug\n", encoding="utf-8")
assert read_csv_labels(broken) == {"007": "pug"}
assert refuses(lambda: split_train_valid({"1": "a"}, 0.5))
assert refuses(lambda: split_train_valid(toy, 1))

# %% [markdown]
# `ImageFiles` reads pictures when they are asked for.
# It is a `Dataset` that any `DataLoader` can serve, and `tensors()` decodes it once into memory, which is what we want for pictures as small as these.

# %% tags=["export"]
class ImageFiles(Dataset):
    """Picture files of one folder, named by `ids`, read when asked for.

    Item i is (X,) or, if `labels` {id: class} are given, (X, y): bytes
    (3, h, w), and the class as its place in the sorted `classes`. With
    `size` (h, w) the pictures are resized. `tensors()` gives all items,
    or those from `start` to `stop`, as one tuple of tensors.
    """

    def __init__(self, folder, ids, labels=None, size=None):
        self.ids, self.size = list(ids), size
        there = {path.stem: path for path in Path(folder).iterdir()}
        lost = [name for name in self.ids if name not in there]
        if lost:
            raise FileNotFoundError(f"{folder} has no picture for "
                                    f"{len(lost)} ids such as {lost[0]!r}.")
        self.paths = [there[name] for name in self.ids]
        self.classes = sorted(set(labels.values())) if labels else []
        self.y = torch.tensor([self.classes.index(labels[name])
                               for name in self.ids]) if labels else None

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        i = range(len(self))[i]  # counts -1 from the end, or refuses
        return tuple(part[0] for part in self.tensors(i, i + 1))

    def tensors(self, start=0, stop=None):
        X = read_images(self.paths[start:stop], self.size)
        return (X,) if self.y is None else (X, self.y[start:stop])

# %%
train_files = ImageFiles(root / "train", train_ids, labels)
valid_files = ImageFiles(root / "train", valid_ids, labels)
classes = train_files.classes
train, valid = ([part.to(device) for part in files.tensors()]
                for files in (train_files, valid_files))
print(tuple(train[0].shape), train[0].dtype, classes)

# %%
# check: both ways give the same; labels belong to their pictures
X, y = next(iter(DataLoader(valid_files, batch_size=8)))
assert torch.equal(X, valid[0][:8].cpu())
assert torch.equal(y, valid[1][:8].cpu())
assert [classes[k] for k in valid[1].tolist()] == [
    labels[i] for i in valid_ids]
backwards = ImageFiles(root / "train", valid_ids[::-1], labels, (16, 24))
assert len(backwards) == len(valid_ids) and backwards.y[0] == valid[1][-1]
assert backwards[0][0].shape == (3, 16, 24)
assert torch.equal(backwards[-1][0], backwards.tensors()[0][-1])
assert refuses(lambda: backwards[len(backwards)], IndexError)
assert backwards.classes == sorted(set(labels.values()))
few = ImageFiles(root / "train", valid_ids[:1], labels)
assert len(few) == 1 and few.classes == classes  # of all the labels
few = ImageFiles(root / "train", valid_ids[:1])  # without labels
assert len(few.tensors()) == len(few[0]) == 1
assert refuses(lambda: ImageFiles(root / "test", ["0"]), FileNotFoundError)

# %% [markdown]
# ## A network that takes bytes
#
# The first layer standardizes each colour, with mean and standard deviation of the *training* part.
# It belongs to the network, so training, validation and submission cannot disagree about it.
# The body is small, to save time: three convolutions, each with batch normalization.

# %%
class Standardize(nn.Module):
    """Bytes (n, 3, h, w) to floats of mean 0 and variance 1 by colour."""

    def __init__(self, X):
        super().__init__()
        std, mean = torch.std_mean(X / 255, dim=(0, 2, 3), keepdim=True)
        self.register_buffer("mean", mean)  # (1, 3, 1, 1)
        self.register_buffer("std", std)

    def forward(self, X):
        return (X / 255 - self.mean) / self.std


def make_net(X, seed):
    """Scores of ten classes; X are the pictures to standardize by."""
    torch.manual_seed(seed)
    layers, c_in = [Standardize(X)], 3
    for c, size, stride in ((16, 5, 2), (32, 3, 1), (64, 3, 2)):
        layers += [nn.Conv2d(c_in, width * c, size, stride, size // 2,
                             bias=False),
                   nn.BatchNorm2d(width * c), nn.ReLU()]
        if c == 16:
            layers.append(nn.MaxPool2d(2))
        c_in = width * c
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(c_in, 10)).to(device)

# %%
scaled = Standardize(train[0])(train[0])
torch.testing.assert_close(scaled.mean((0, 2, 3)).cpu(), torch.zeros(3),
                           atol=1e-4, rtol=0)
torch.testing.assert_close(scaled.std((0, 2, 3)).cpu(), torch.ones(3),
                           atol=1e-4, rtol=0)

# %% [markdown]
# ## Which recipe?
#
# The baseline: AdamW at a constant rate, pictures flipped and shifted by up to 4 pixels ([Section 8.1](../08-modern-cnns/01-alexnet.ipynb)).
# Its rivals change what happens around the steps, not the network:
#
# - the one-cycle schedule of [Section 14.1](01-augmentation.ipynb), together with label smoothing of 0.1 ([Section 4.1](../04-linear-classification/01-softmax-regression.ipynb)), as many recipes combine them;
# - the exponential moving average of the weights ([Section 12.11](../12-optimization/11-lr-scheduling.ipynb)), for both.
#
# An average changes nothing in the training whose weights it averages, so two trainings per seed give four arms.
# All arms get the same pictures, order, changes and number of updates.
# Each of the two trainings gets the best of four rates, by the mean validation accuracy of its last weights and their average with another seed (with `tune = True` the notebook chooses again).
# A second average, five times as slow, is kept for later.

# %%
def fit(data, seed, lr, schedule=None, smoothing=0.0):
    """A network trained on `data`, and two averages of its weights."""
    net = make_net(data[0], seed)
    averages = [EMA(net, 1 - (1 - decay) / slow) for slow in (1, 5)]

    def after_step(net):
        for average in averages:
            average.update(net)

    train_ch14(net, data, None, nn.CrossEntropyLoss(
        label_smoothing=smoothing), torch.optim.AdamW(
        net.parameters(), lr=lr, fused=True), num_epochs, device,
        augment=Compose(augment_batch), score=None, after_step=after_step,
        seed=seed, schedule=schedule)
    return net, *(average.model for average in averages)


recipes = {"constant": {"lr": 3e-3, "schedule": lambda step: 1.0},
           "one-cycle": {"lr": 1e-2, "smoothing": 0.1}}
if tune:
    for recipe in recipes.values():
        recipe["lr"] = max((1e-3, 3e-3, 1e-2, 3e-2), key=lambda lr: sum(
            evaluate(net, valid)
            for net in fit(train, 9, **{**recipe, "lr": lr})[:2]))

# %%
nets = {}  # arm: three networks, by seed


def run(name):
    """Both arms, and the slow average, of a recipe."""
    rows = [fit(train, seed, **recipes[name]) for seed in range(3)]
    nets.update(zip((name, f"{name}, EMA", f"{name}, slow EMA"), zip(*rows)))


run("constant")

# %%
run("one-cycle")
slow = {name: nets.pop(f"{name}, slow EMA") for name in recipes}
scores = {arm: [evaluate(net, valid) for net in each]
          for arm, each in nets.items()}
means = {arm: sum(each) / 3 for arm, each in scores.items()}
for arm, each in scores.items():
    print(f"{arm:15s}", " ".join(f"{a:.3f}" for a in each),
          f" mean {means[arm]:.3f}")

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.6, 2.5))
for seed, marker in enumerate("os^"):
    ax.plot([scores[arm][seed] for arm in scores], range(4), marker + ":",
            lw=0.8, label=f"seed {seed}")
ax.set_yticks(range(4), labels=list(scores))
ax.set(xlabel="validation accuracy", ylim=(3.4, -0.4))
ax.legend()
d2l.describe(ax, """Accuracy of four recipes for three seeds. The constant
    rate is lowest for each seed; the other three lie close together.""")
# %% [markdown]
# **Figure 14.13.2.** Four recipes, three seeds, one marker for each run.
# Dotted lines join the runs of a seed.

# %%
# check 14.13-C6: decay or averaging helps; both together add nothing
gain = {arm: mean - means["constant"] for arm, mean in means.items()}
if measured:
    assert min(gain["constant, EMA"], gain["one-cycle"]) > 0.02
    assert abs(means["one-cycle, EMA"] - means["one-cycle"]) < 0.015
    assert all(a > b for a, b in zip(scores["constant, EMA"],
                                     scores["constant"]))
    assert abs(means["one-cycle"] - means["constant, EMA"]) < 0.02
    lifts = [b - a for a, b in zip(scores["constant"], scores["one-cycle"])]
    assert min(lifts) > 0 and max(lifts) > sum(lifts) / 2

# %% [markdown]
# Decay with smoothing and the average each lift the mean by about three hundredths, and the average of a run that decays adds nothing.
# The gain has the same sign for each seed, but not the same size: much of it comes from one seed with which the constant rate ended badly.
# That fits the picture of [Section 12.11](../12-optimization/11-lr-scheduling.ipynb): at a constant rate the weights keep jumping around, decay or averaging removes this noise, and the second remedy finds little left to remove.
# In a larger study, too, averaged weights needed less decay (Morales-Brotons et al., 2024).
# What we measured is narrower: 3000 pictures, 180 updates, one small network, and schedule and smoothing as one package.
# An accuracy on 1000 pictures is uncertain by three hundredths itself; Exercise 2 tells what the comparison can support.
#
# The average has a trap.
# `EMA` averages the parameters and *copies* the running statistics of batch normalization, which belong to the latest weights.
# For comparison we estimate them anew, from a thousand training pictures, augmented as in training.
# Izmailov et al. (2018) do the same after averaging.

# %%
rng = torch.Generator().manual_seed(0)
few = [augment_batch(part, rng) for part in train[0][:1000].split(100)]
fresh = {}
for name, group in (("latest weights", nets["constant"]), ("EMA", nets[
        "constant, EMA"]), ("slow EMA", slow["constant"])):
    fresh[name] = []
    for net in group:
        other = copy.deepcopy(net)
        update_bn(few, other)
        fresh[name].append((evaluate(net, valid), evaluate(other, valid)))
    print(f"{name:15s} copied -> estimated anew:", "  ".join(
        f"{a:.3f} -> {b:.3f}" for a, b in fresh[name]))

# %%
# check: statistics of other weights spoil the slow average, not the fast
old, new = ({name: sum(pair[k] for pair in pairs) / 3
             for name, pairs in fresh.items()} for k in (0, 1))
if measured:
    assert all(b > a + 0.02 for a, b in fresh["slow EMA"])
    assert old["slow EMA"] < old["latest weights"] - 0.02
    assert abs(new["EMA"] - old["EMA"]) < 0.01
    assert new["EMA"] > new["slow EMA"] > new["EMA"] - 0.03
    assert new["latest weights"] > old["latest weights"] + 0.006
    assert new["EMA"] - new["latest weights"] < 0.7 * (
        old["EMA"] - old["latest weights"])  # a good part goes

# %% [markdown]
# The slow average remembers weights that are far from the latest ones.
# With copied statistics it is worse than no average at all.
# With its own it is level, in the mean, with the latest weights treated alike, and one to two hundredths below the fast average, which copied statistics do not hurt.
# Within each pair of numbers `torch.optim.swa_utils.update_bn` is the only difference.
# Even the latest weights gain, and a good part of the lead of the average is gone.
# A likely reason, for which we ran no control, is that their running statistics were collected while the weights moved.
#
# The three better arms are not told apart here.
# We take the one that needs neither a second network nor a second pass, the one-cycle run.

# %% [markdown]
# ## Predicting
#
# Prediction runs over files, in evaluation mode, batch by batch, so 300 000 pictures never have to be in memory together.

# %% tags=["export"]
def predict_files(net, files, batch_size=250):
    """net(X) for the pictures X of `files`, in their order, on the CPU.

    In evaluation mode and without gradients; the modes come back. The
    net takes bytes (n, 3, h, w); only one batch is in memory at a time.
    """
    device = next(net.parameters()).device
    with evaluating(net):
        return torch.cat([
            net(files.tensors(i, i + batch_size)[0].to(device)).cpu()
            for i in range(0, len(files), batch_size)])

# %% [markdown]
# `evaluating` ([Section 14.1](01-augmentation.ipynb)) is the line that is missing in some code of this kind, a textbook's included (see Sources), where a loop over the test set follows directly after training.
# In training mode a batch normalization layer standardizes each picture by the *other pictures of its batch* ([Section 8.5](../08-modern-cnns/05-batch-norm.ipynb)).
# What you answer for a picture then depends on its company.
# We count how many of 200 answers change.

# %%
chosen = "one-cycle"
net = copy.deepcopy(nets[chosen][0]).cpu()
some = [part[:200].cpu() for part in valid]
with evaluating(net):
    right = net(some[0])


def in_training_mode(X, batch_size):
    """Scores of X by a copy of `net`, without eval()."""
    forgetful = copy.deepcopy(net).train()
    with torch.no_grad():
        return torch.cat([forgetful(part) for part in X.split(batch_size)])


order = some[1].argsort(stable=True)
runs = {f"batches of {size}": in_training_mode(some[0], size)
        for size in (1, 10, 100)}
runs["batches of 10, sorted by class"] = in_training_mode(
    some[0][order], 10)[order.argsort()]
for name, Y in (("evaluation mode", right), *runs.items()):
    print(f"{name:31s} accuracy {accuracy(Y, some[1]).mean():.2f}, "
          f"{(Y.argmax(1) != right.argmax(1)).sum()} changed")

# %%
# check 14.13-C3: company matters in training mode, not in evaluation mode
flips = {name: (Y.argmax(1) != right.argmax(1)).sum().item()
         for name, Y in runs.items()}
assert min(flips.values()) > 0
if measured:
    one, ten, hundred, by_class = flips.values()
    assert one > ten + 40 and ten > hundred + 8 and by_class > ten + 20
    hits = [accuracy(Y, some[1]).mean().item() for Y in runs.values()]
    assert max(hits[0], hits[3]) < 0.2 < 0.3 < min(hits[1:3])
with evaluating(net):
    for size in (1, 10, 100):
        again = torch.cat([net(part) for part in some[0].split(size)])
        torch.testing.assert_close(again, right, atol=1e-5, rtol=1e-5)
two_hundred = ImageFiles(root / "train", valid_ids[:200], labels)
net.train()
net[0].eval()  # modes may be mixed
before = {key: value.clone() for key, value in net.state_dict().items()}
Y = predict_files(net, two_hundred, batch_size=64)
torch.testing.assert_close(Y, right, atol=1e-5, rtol=1e-5)
assert net.training and not net[0].training and not Y.requires_grad
assert all(torch.equal(before[key], value)
           for key, value in net.state_dict().items())

# %% [markdown]
# Of these sizes, the smaller the batch, the more answers change.
# In a batch of one, each picture is standardized by itself: after such a layer, the mean of a channel over the picture is the same for all pictures.
# And in batches of ten sorted by class, as a folder for each class delivers them, most batches hold one class only, and the layers subtract what the ten have in common: with the same weights, the answers are little better than guesses.
#
# Two more classics.
# `drop_last=True`, copied from the training loader, makes the last, smaller batch disappear from validation or from the answer.
# And the names: a folder sorted by name gives 1, 10, 100, 2; anyone who predicts in that order and writes the ids 1, 2, 3, ... beside the answers has them in the wrong rows.
# Neither raises an error.
# So the table is written from *pairs* of id and answer, in one fixed order, and read again by a function that knows what the organizers expect.

# %% tags=["export"]
def write_submission(ids, preds, classes, path):
    """A table with a row for each id, in the order of `sort_ids`.

    `preds` (n,) are places in `classes`, the i-th for the i-th id.
    """
    names = {name: classes[k] for name, k in
             zip(ids, preds.tolist(), strict=True)}
    if len(names) < len(preds) or len(preds) and preds.min() < 0:
        raise ValueError("an id comes twice, or a class is negative.")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label"])
        writer.writerows([name, names[name]] for name in sort_ids(names))


def check_submission(path, ids, classes):
    """Raise ValueError if the table at `path` would be refused.

    It must answer every id once, in the order of `sort_ids`, and with
    one of the `classes`.
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if header != ["id", "label"] or any(len(row) != 2 for row in rows):
        raise ValueError("every row must have two columns, id and label; "
                         f"the header is {header}.")
    found, wanted = [row[0] for row in rows], sort_ids(ids)
    if found != wanted:
        lost, extra = set(wanted) - set(found), set(found) - set(wanted)
        raise ValueError(f"{len(found)} rows for {len(wanted)} ids: "
                         f"{len(lost)} ids missing, {len(extra)} unknown, "
                         "or some twice or in another order.")
    strange = {row[1] for row in rows} - set(classes)
    if strange:
        raise ValueError(f"{sorted(strange)} are no classes.")

# %%
def score(path, answers):
    """What the organizers compute: the share of right rows."""
    submitted = read_csv_labels(path)
    return sum(submitted[key] == answers[key] for key in answers) / len(
        answers)


by_word = ImageFiles(root / "train", sorted(valid_ids), labels)
answer = predict_files(net, by_word).argmax(1)
known = {key: labels[key] for key in valid_ids}
good, bad, short = (root / f"{name}.csv" for name in ("good", "bad", "short"))
write_submission(by_word.ids, answer, classes, good)
write_submission(valid_ids, answer, classes, bad)  # other order of names
kept = len(answer) // 64 * 64  # drop_last=True, batches of 64
write_submission(by_word.ids[:kept], answer[:kept], classes, short)
check_submission(good, valid_ids, classes)
check_submission(bad, valid_ids, classes)  # nothing to see
print(f"good {score(good, known):.3f}, bad {score(bad, known):.3f}")
try:
    check_submission(short, valid_ids, classes)
except ValueError as error:
    print("short:", error)

# %% [markdown]
# The table with mixed-up rows is valid in form, and its score is that of guesses.
# Only known labels can tell: write a table for the *validation* pictures with the code that writes the test table, and score it as the organizers would.

# %%
# check 14.13-C5: the order of files does not matter; a mismatch shows
shuffled = random.Random(1).sample(valid_ids, len(valid_ids))
files = ImageFiles(root / "train", shuffled)
write_submission(shuffled, predict_files(net, files, 64).argmax(1),
                 classes, short)
assert short.read_bytes() == good.read_bytes()
if measured:
    assert abs(score(good, known) - scores[chosen][0]) < 0.005
    assert score(bad, known) < 0.2 < 0.3 < score(good, known)

# %% tags=["hide-input"]
# check: what is refused
ten = valid_ids[:10]


def submission(change):
    """Whether a table of ten rows passes after change(lines)."""
    write_submission(ten, torch.arange(10), classes, short)
    lines = short.read_text(encoding="utf-8").splitlines()
    change(lines)
    short.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return not refuses(lambda: check_submission(short, ten, classes))


assert submission(lambda lines: None)
for change in (lambda lines: lines.pop(), lambda lines: lines.pop(0),
               lambda lines: lines.append(lines[-1]), list.reverse,
               lambda lines: lines.insert(1, lines.pop(2)),
               lambda lines: lines.__setitem__(0, "id,class"),
               lambda lines: lines.__setitem__(3, ten[2] + ",Cat"),
               lambda lines: lines.__setitem__(3, ten[2]),
               lambda lines: lines.insert(3, ""),
               lambda lines: lines.__setitem__(3, "0,cat")):
    assert not submission(change)
for ids, preds in ((ten, torch.arange(9)), (ten[:1] * 10, torch.arange(10)),
                   (ten, torch.arange(10) - 1)):
    assert refuses(lambda: write_submission(ids, preds, classes, short))

# %% [markdown]
# ## Looking at the errors
#
# Which pictures does the network get wrong?
# We look at validation pictures only: a recipe changed after a look at test errors has been fitted to the test set.

# %%
def probabilities(net, X):
    """Of the classes, in evaluation mode, on the CPU."""
    with evaluating(net):
        return net(X).softmax(1).cpu()


probs = {arm: torch.stack([probabilities(net, valid[0]) for net in each])
         for arm, each in nets.items()}  # (3, n, 10) each
P, y = probs[chosen][0], valid_files.y
counts = confusion_matrix(P.argmax(1), y, 10)
mutual = (counts + counts.T).triu(1)  # (10, 10)
for place in mutual.flatten().topk(3).indices.tolist():
    i, j = divmod(place, 10)
    print(f"{classes[i]} and {classes[j]}: {mutual[i, j]} pictures")

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.2, 4.2))
d2l.heatmap(counts, rows=classes, cols=classes, annotate="d", ax=ax,
            xlabel="answer", ylabel="label", cmap="Blues")
d2l.describe(ax, """Confusion matrix of ten classes on the validation
    pictures. The diagonal is strongest; beside it, airplanes and ships are
    taken for each other, cats and dogs, and automobiles and trucks.""")

# %% [markdown]
# **Figure 14.13.3.** Labels (rows) and answers (columns).
# Most often this network takes airplanes and ships, cats and dogs, or automobiles and trucks for each other.

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.4, 2.9), sharey=True)
for ax, arm in zip(axes, ("constant", "one-cycle")):
    joined = probs[arm].flatten(0, 1), y.repeat(3)  # all three networks
    count, confidence, share = reliability(*joined, bins=10)
    ax.plot([0, 1], [0, 1], "k:", lw=1)
    ax.plot(confidence, share, "o-", ms=4)
    ax.set(title=f"{arm}, error {calibration_error(*joined):.2f}",
           xlabel="confidence", xlim=(0, 1), ylim=(0, 1.03))
axes[0].set_ylabel("accuracy")
d2l.describe(axes, """Accuracy against confidence in ten bins for two recipes,
    with the diagonal.""")

# %% [markdown]
# **Figure 14.13.4.** Reliability ([Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb)) of two recipes, three networks each; the titles give the expected calibration error.
# In most bins the constant rate is too sure of itself (below the diagonal), and the other, which has another schedule and smoothed labels, is too modest.

# %%
excess = {arm: (each.amax(2).mean() - (each.argmax(2) == y).float().mean())
          .item() for arm, each in probs.items()}
if measured:  # mean confidence minus accuracy
    top = {divmod(k, 10) for k in mutual.flatten().topk(3).indices.tolist()}
    assert top == {(0, 8), (3, 5), (1, 9)}  # of Figure 14.13.3
    assert excess["constant"] > 0.01 and excess["one-cycle"] < -0.02

# %% tags=["hide-input"]
wrong = torch.where(P.argmax(1) == y, 0, P.amax(1))
worst = wrong.topk(8).indices.tolist()
axes = d2l.show_images(valid[0][worst].cpu(), 2, 4, [
    f"{classes[y[i]]}, not\n{classes[P[i].argmax()]} {P[i].max():.2f}"
    for i in worst], scale=1.2)
d2l.describe(axes, """Eight validation pictures with a wrong answer of high
    probability; above each its label, the answer and its probability.""")

# %% [markdown]
# **Figure 14.13.5.** The most confident errors, with label, answer and probability.

# %% [markdown]
# ## The answer
#
# The recipe is chosen, so the validation pictures have done their work and join the training set: one more training on all labelled pictures, with the same recipe, then the submission.

# %%
everything = ImageFiles(root / "train", sort_ids(labels), labels)
data = [part.to(device) for part in everything.tensors()]
final = fit(data, 0, **recipes[chosen])[0]
test_files = ImageFiles(root / "test", answers)
path = root / "submission.csv"
write_submission(test_files.ids, predict_files(final, test_files).argmax(1),
                 classes, path)
check_submission(path, answers, classes)
print(path.read_text(encoding="utf-8")[:40].split())
result = score(path, answers)
low, high = error_interval(round((1 - means[chosen]) * len(valid_ids)),
                           len(valid_ids))
print(f"score {result:.3f}; expected from validation "
      f"{means[chosen]:.3f}, between {1 - high:.3f} and {1 - low:.3f}")

# %%
# check 14.13-C4: a row for each id, in numeric order, with a valid class
rows = path.read_text(encoding="utf-8").splitlines()
assert rows[0] == "id,label" and len(rows) == 1 + 10 * test_per_class
assert [int(row.split(",")[0]) for row in rows[1:]] == list(
    range(1, 10 * test_per_class + 1))
assert {row.split(",")[1] for row in rows[1:]} <= set(classes)
if measured:
    assert 1 - high < result < 1 - low

# %% [markdown]
# The validation pictures predicted the score within their own uncertainty.
# Besides the chance of these 1000 test pictures, three things could have moved it: a single run where the prediction is a mean of three, a third more pictures and updates, and a validation accuracy that flatters a recipe chosen by it.
#
# The *first* look at the test pictures gives an honest number; a later one does so for certain only if nothing was chosen by the looks before it.
# On a competition's page one may submit again and again; every look tells something about the answers, and the best of many scores tends to overstate ([Section 4.6](../04-linear-classification/06-generalization-classification.ipynb)).
# That is why such pages rank by one part of the test set during the competition and by another at its end, and why Blum and Hardt (2015) show a new score only when it is clearly better than the best one shown before.
# How much years of looks have cost CIFAR-10 was measured with new test pictures collected in the same way: accuracies fell by 3 to 15 points, but gains on the old pictures went with larger gains on the new ones, which speaks for slightly harder pictures rather than for fitting the old test set (Recht et al., 2019).

# %% [markdown]
# ## Test pictures in the training set
#
# A score means something if the test pictures are new.
# Are they?
# A *checksum* finds equal files, and one of the decoded pixels equal pictures.

# %%
def checksums(files):
    """A set of the checksums of files, and one of their pixels."""
    return ({hashlib.sha256(path.read_bytes()).digest()
             for path in files.paths},
            {hashlib.sha256(X.numpy().tobytes()).digest()
             for X in files.tensors()[0]})


common = [len(a & b) for a, b in zip(
    checksums(everything), checksums(test_files))]
print("equal files and equal pictures in training and test:", common)

# %% [markdown]
# None.
# But the same photograph in another crop, brightness or compression has another checksum.
# Features of a pretrained network change less.
# We use EfficientNet-Lite0 ([Section 8.9](../08-modern-cnns/09-comparison.ipynb)), and of its levels the map at stride 8, which still knows *where* things are: for pictures of 32 by 32 pixels, 40 channels at 4 by 4 places.
# The similarity of two pictures is the cosine of their features, after the mean over the training pictures has been subtracted; the average pair then has a cosine near 0.

# %%
class Glance(nn.Module):
    """The map at stride 8 of EfficientNet-Lite0, as one row a picture."""

    def __init__(self):
        super().__init__()
        self.body = efficientnet_lite0()
        self.body._blocks = self.body._blocks[:5]  # no more is needed

    def forward(self, X):
        return self.body.features(X)[-1].flatten(1)  # (n, 640)


def similarity(A, B, mean):
    """Cosines (n, m) of the rows of A and B around `mean`."""
    return F.normalize(A - mean, dim=1) @ F.normalize(B - mean, dim=1).T


glance = Glance().to(device)
seen = predict_files(glance, everything)
mean = seen.mean(0)
alike = similarity(predict_files(glance, test_files), seen, mean)
closest = alike.flatten().topk(8)
pairs = [divmod(k, len(everything)) for k in closest.indices.tolist()]

# %% tags=["hide-input"]
both, titles = [], []
test_X = test_files.tensors()[0]
for (a, b), value in zip(pairs, closest.values.tolist()):
    both += [test_X[a], data[0][b].cpu()]
    titles += [f"test, {value:.2f}", "training"]
axes = d2l.show_images(both, 4, 4, titles, scale=1.1)
d2l.describe(axes, """Eight pairs of a test and a training picture with the
    cosine of their features. Some pairs show the same photograph in another
    crop or brightness, others only similar ones.""")

# %% [markdown]
# **Figure 14.13.6.** The eight closest pairs of a test picture and a training picture.

# %%
# check: no equal files; the same photographs by features
assert common == [0, 0] or not found.is_real
(root / "png").mkdir()
Image.open(test_files.paths[0]).save(root / "png" / "1.png")
resave = checksums(ImageFiles(root / "png", ["1"]))
assert [len(a & b) for a, b in zip(resave, checksums(test_files))] == [0, 1]
two = torch.tensor([[2.0, 1.0], [0.0, 3.0]])  # (1, 0), (-1, 2) around 1
torch.testing.assert_close(similarity(two, two, torch.ones(2)), torch.tensor(
    [[1.0, -(5**-0.5)], [-(5**-0.5), 1.0]]))
if measured:
    def original(path):
        return "/".join(origin[path].with_suffix("").parts[-3:])

    assert alike.mean().abs() < 0.05  # 0.26 without subtraction

    top = {(original(test_files.paths[a]), original(everything.paths[b]))
           for a, b in pairs}
    assert {("test/horse/0089", "train/horse/0338"),
            ("test/truck/0077", "train/truck/0229"),
            ("test/deer/0078", "train/deer/0141"),
            ("test/automobile/0043", "train/automobile/0068")} <= top

# %% [markdown]
# Half of the eight pairs are one photograph twice, or nearly: a horse, a truck, a deer and a car.
# The others show a plane and another plane, or a bird, against a similar sky.
# The cosine puts candidates in order, and eyes decide.
# In the full data, 3.3 % of CIFAR-10's test pictures have a duplicate in the training set; Barz and Denzler (2020) found them, and published test sets in which new pictures take their place.
# The same can happen between training and validation pictures, and there it is for you to look.
# Pictures from one burst, one video or one patient belong on one side of the split, as a group.
#
# On the full data set 94 % is a matter of seconds today: a recipe of many small parts, among them a kind of weight averaging (Lookahead) and flips in alternation instead of at random, reached it in 3.3 seconds on one A100 graphics processor (Jordan, 2024), and [its author's later version](https://github.com/KellerJordan/cifar10-airbench) was faster.

# %% [markdown]
# ## Summary
#
# - Keep ids as words, pair each with its answer, and write the table in one stated order. A table can be valid in form and have its answers in the wrong rows; only known labels show it.
# - Predict in evaluation mode: in training mode, batch normalization makes an answer depend on the other pictures of its batch.
# - Take the statistics from training pictures, choose rates and recipe on validation pictures, and look at errors there, too. The test set answers once.
# - At equal updates, decay with label smoothing and averaged weights each beat a constant rate with three seeds of a small network; both together added nothing. A good part of the average's lead over the constant rate was gone when the statistics of batch normalization were estimated anew for both.
# - A slow average of weights needs batch normalization statistics of its own; copied ones made it worse than no average.
# - Files with different checksums can show the same photograph. Features of a pretrained network find such pairs; a person decides.

# %% [markdown]
# ## Exercises
#
# ### Exercise 14.13-1
#
# Does augmentation help at this budget?
# Take every twelfth training picture and train at a constant rate, with and without flips and shifts, three seeds each.
# Report the accuracy of the averaged weights after 10 and after 20 epochs, whatever its sign.

# %% [markdown]
# #### Solution 14.13-1

# %% [markdown]
# At a constant rate the first ten epochs of twenty *are* a run of ten epochs, so one training gives both numbers; after each epoch the averaged network is evaluated.
# Here augmentation *costs* some hundredths at both lengths and in every seed, with 250 pictures and 30 or 60 updates of a small network.
# This is no verdict on augmentation: on the 1000 photographs of [Section 14.1](01-augmentation.ipynb), flips and shifts won after 15 epochs, and not after 5.

# %% tags=["rtol=0.1"]
def accuracies(seed, augment):
    """Of the averaged weights, halfway and at the end."""
    few = [part[::12] for part in train]  # ids are shuffled
    net = make_net(few[0], seed)
    average, results, count = EMA(net, decay), [], itertools.count(1)
    half = halfway * math.ceil(len(few[0]) / 100)  # updates

    def after_step(net):
        average.update(net)
        if next(count) % half == 0:
            results.append(evaluate(average.model, valid))

    train_ch14(net, few, None, nn.CrossEntropyLoss(), torch.optim.AdamW(
        net.parameters(), lr=recipes["constant"]["lr"], fused=True),
        2 * halfway, device, augment=augment, score=None,
        after_step=after_step, seed=seed, schedule=lambda step: 1.0)
    return results


halfway = 10 if num_epochs > 1 else 1
gains = []
for seed in range(3):
    plain = accuracies(seed, None)
    moved = accuracies(seed, Compose(augment_batch))
    gains.append([b - a for a, b in zip(plain, moved)])
for when, differences in zip((halfway, 2 * halfway), zip(*gains)):
    print(f"{when} epochs: with augmentation", " ".join(
        f"{value:+.3f}" for value in differences))
    if measured:
        assert max(differences) < 0 and sum(differences) < -0.06

# %% [markdown]
# ### Exercise 14.13-2
#
# Give a 95 % interval for an accuracy of 0.62 on 1000 pictures.
# Which gaps between the arms of Figure 14.13.2 exceed its half width?
# Two arms answer the *same* pictures; use the differences picture by picture for a narrower interval.

# %% [markdown]
# #### Solution 14.13-2

# %% [markdown]
# One accuracy: $\pm1.96\sqrt{0.62\cdot0.38/1000}=\pm0.030$.
# For a gap, let $d_i$ be the difference of right answers on picture $i$, averaged over the three seeds, and $n$ the number of pictures.
# The standard error of the mean gap is $s/\sqrt n$, with $s$ the standard deviation of the $d_i$: pictures that both arms get right, or both wrong, add nothing.
# It covers the choice of pictures, not the choice of seeds.
# The three gaps to the constant rate exceed $0.030$ by little, and those among the other arms do not.
# None reaches $0.030\sqrt2=0.043$, the half width for two accuracies on *different* pictures, so different pictures would leave the question open; the paired intervals exclude 0.
# Even picture by picture, the three better arms are not told apart.

# %%
half = 1.96 * (0.62 * 0.38 / 1000) ** 0.5
low, high = error_interval(380, 1000, method="normal")
assert abs(half - 0.0301) < 1e-4 and abs((high - low) / 2 - half) < 1e-4
hits = {arm: (each.argmax(2) == y).float().mean(0)
        for arm, each in probs.items()}  # (n,), means over the seeds
resolved = {}
for arm in list(nets)[1:]:
    d = hits[arm] - hits["constant"]
    error = 1.96 * (d.std() / len(d) ** 0.5).item()
    resolved[arm] = d.mean().item() > error
    print(f"{arm}, against constant: {d.mean():+.3f} +- {error:.3f}")
if measured:
    assert all(resolved.values()) and max(
        gain.values()) < half * 2 ** 0.5
    for arm in ("one-cycle", "one-cycle, EMA"):
        d = hits[arm] - hits["constant, EMA"]
        assert d.mean().abs() < 1.96 * d.std() / len(d) ** 0.5

# %% [markdown]
# ### Exercise 14.13-3
#
# Plant a leak: put ten validation pictures into the training set as exact copies, and ten more brightened by a tenth, shifted by two pixels and saved as JPEG of quality 60.
# Which of them does a checksum find, and which the features?

# %% [markdown]
# #### Solution 14.13-3

# %% [markdown]
# The checksum finds the exact copies only.
# By features, each of the twenty has its planted copy as the nearest training picture.

# %%
planted = root / "planted"
planted.mkdir()
for k, key in enumerate(valid_ids[:20]):
    source = valid_files.paths[k]
    if k < 10:
        shutil.copyfile(source, planted / f"{key}.jpg")
        continue
    X = (read_images([source])[0] * 1.1).clamp(0, 255).to(torch.uint8)
    X = X.roll((2, 2), dims=(1, 2))
    Image.fromarray(X.permute(1, 2, 0).numpy()).save(
        planted / f"{key}.jpg", quality=60)
leaks = ImageFiles(planted, valid_ids[:20])
victims = ImageFiles(root / "train", valid_ids[:20])
place = {key: i for i, key in enumerate(everything.ids)}
honest = seen[[place[key] for key in train_ids]]  # features from above
equal = checksums(leaks)[0] & checksums(victims)[0]
rows = torch.cat([predict_files(glance, leaks), honest])
nearest = similarity(predict_files(glance, victims), rows, mean).argmax(1)
print(f"checksums find {len(equal)}, features "
      f"{(nearest == torch.arange(20)).sum()} of 20")
assert len(equal) == 10
if measured:
    assert (nearest == torch.arange(20)).all()

# %% [markdown]
# ### Exercise 14.13-4
#
# Average the probabilities of the three networks of an arm.
# Show that the log loss of the average is never above the mean of their log losses.
# Does the accuracy rise, too?

# %% [markdown]
# #### Solution 14.13-4

# %% [markdown]
# $-\log$ is convex, so for the probabilities $p_1,p_2,p_3$ that the networks give to the right class, $-\log\frac{p_1+p_2+p_3}3\le-\frac13\sum_k\log p_k$ (Jensen), picture by picture.
# Accuracy has no such guarantee.
# Here it rises for all four arms, most for the constant rate, whose networks differ most from run to run.

# %%
better = {}
for arm, each in probs.items():
    losses = -each[:, torch.arange(len(y)), y].log()  # (3, n)
    mixed = -each.mean(0)[torch.arange(len(y)), y].log()  # (n,)
    assert (mixed <= losses.mean(0) + 1e-5).all()
    together = accuracy(each.mean(0), y).mean().item()
    better[arm] = together - means[arm]
    print(f"{arm:15s} log loss {losses.mean():.3f} -> {mixed.mean():.3f}, "
          f"accuracy {means[arm]:.3f} -> {together:.3f}")
    if measured:
        assert mixed.mean() < losses.mean() - 0.01
if measured:
    def apart(arm):
        """How often two of the three networks answer differently."""
        k = probs[arm].argmax(2)  # (3, n)
        return (k != k.roll(1, 0)).float().mean().item()

    assert min(better.values()) > 0
    assert max(better, key=better.get) == max(probs, key=apart) == "constant"

# %%
scratch.cleanup()  # the competition is over
assert not root.exists()

# %% [markdown]
# ## Sources
#
# - A. Krizhevsky, Learning multiple layers of features from tiny images, 2009, [cs.toronto.edu](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf): CIFAR-10.
# - Kaggle, CIFAR-10: object recognition in images, 2013, [kaggle.com](https://www.kaggle.com/c/cifar-10/data): the files and rules of the competition.
# - B. Barz and J. Denzler, Do we train on test data? Purging CIFAR of near-duplicates, 2020, [doi:10.3390/jimaging6060041](https://doi.org/10.3390/jimaging6060041).
# - B. Recht, R. Roelofs, L. Schmidt and V. Shankar, Do ImageNet classifiers generalize to ImageNet?, 2019, [arXiv:1902.10811](https://arxiv.org/abs/1902.10811): new test sets for CIFAR-10 and ImageNet.
# - A. Blum and M. Hardt, The ladder: a reliable leaderboard for machine learning competitions, 2015, [arXiv:1502.04585](https://arxiv.org/abs/1502.04585).
# - P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov and A. G. Wilson, Averaging weights leads to wider optima and better generalization, 2018, [arXiv:1803.05407](https://arxiv.org/abs/1803.05407).
# - D. Morales-Brotons, T. Vogels and H. Hendrikx, Exponential moving average of weights in deep learning: dynamics and benefits, 2024, [arXiv:2411.18704](https://arxiv.org/abs/2411.18704): averages need less decay of the rate.
# - K. Jordan, 94 % on CIFAR-10 in 3.29 seconds on a single GPU, 2024, [arXiv:2404.00498](https://arxiv.org/abs/2404.00498).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the same competition, with the prediction in training mode.
