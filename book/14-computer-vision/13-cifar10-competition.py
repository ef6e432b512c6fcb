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
# Until now the pictures came as tensors, and the test labels beside them.
# A competition hands out folders of files and one table, and wants another table back.
# Between the two lie a dozen places where a good network turns into a bad score without any error message.
# This section walks the whole way, breaks it on purpose at each of these places, and measures what a schedule, label smoothing and averaged weights add to a baseline.
#
# **You will**
#
# - go from picture files and a table of labels to a checked submission;
# - see what a forgotten `eval()`, a dropped batch and two orders of names do to a score;
# - compare training recipes at equal updates, on validation pictures only, and say which differences the data can support;
# - find copies of test pictures in the training set that no checksum finds.
#
# **Cost**: less than a minute on a CPU; downloads of 11 and 18 MB, once.

# %%
import copy
import csv
import hashlib
import io
import random
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import nn
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
per_class = 320  # training files of each of ten classes
test_per_class = 100
width = 1  # multiplies the channels of the network
num_epochs = 8
decay = 0.95  # of the averaged weights, for each step

# %% [markdown]
# TODO

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
    if header[0] != "id" or any(len(row) != 2 for row in (header, *rows)):
        raise ValueError(f"{path} must have two columns, the first called "
                         f"'id'; its header is {header}.")
    labels = dict(rows)
    if len(labels) < len(rows):
        raise ValueError(f"{path} has {len(rows)} rows, but only "
                         f"{len(labels)} different ids.")
    return labels

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
        return tuple(part[0] for part in self.tensors(i, i + 1))

    def tensors(self, start=0, stop=None):
        X = read_images(self.paths[start:stop], self.size)
        return (X,) if self.y is None else (X, self.y[start:stop])

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
    found, wanted = [row[0] for row in rows], sort_ids(ids)
    if header != ["id", "label"] or any(len(row) != 2 for row in rows):
        raise ValueError(f"the columns are {header}, not id and label.")
    if found != wanted:
        lost, extra = set(wanted) - set(found), set(found) - set(wanted)
        raise ValueError(f"{len(found)} rows for {len(wanted)} ids: "
                         f"{len(lost)} ids missing, {len(extra)} unknown, "
                         "or some twice or in another order.")
    strange = {row[1] for row in rows} - set(classes)
    if strange:
        raise ValueError(f"{sorted(strange)} are no classes.")

# %% [markdown]
# ## Sources
