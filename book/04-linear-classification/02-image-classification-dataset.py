# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu: {}
#       smoke:
#         read_images: 1000
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
# # 4.2 The image classification dataset
#
# Before a model can be trained, 70 000 pictures must come from a file into tensors, in the right scale, in the right order, and fast enough that the model never waits.
# Most wrong results in practice are made here, before the first gradient.
# This section reads Fashion-MNIST byte by byte, looks at it, and measures what reading costs.
#
# **You will**
#
# - read a binary file format by hand and verify what you read;
# - build the data module that all image classifiers of the following chapters use;
# - say which pictures and which numbers to look at before training;
# - measure whether reading is the bottleneck, and remove it.
#
# **Cost**: half a minute on a CPU, no use of a GPU; a download of 31 MB, once.

# %%
import cProfile
import gzip
import hashlib
import math
import os
import pstats
import struct
import tempfile
import zlib
from functools import cached_property
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (DataModule, Timer,
                                                    add_to_class)
from d2l_helpers.data import manifest

try:
    import torchvision
    from torchvision.transforms import v2
except ImportError:  # torchvision is optional
    torchvision = v2 = None

d2l.use_style()

# %% tags=["parameters"]
read_images = 5000  # images in the measurements of reading speed

# %% [markdown]
# ## Which data
#
# For two decades the first data set of every course was MNIST: 60 000 training and 10 000 test pictures of handwritten digits, $28 \times 28$ grey pixels each.
# It is too easy today.
# Simple models without any layer classify more than 95 % of the test digits correctly, so MNIST can no longer tell a good idea from a mediocre one; it serves as a check that a program works at all.
# ImageNet, the yardstick of modern vision, is at the other end: more than a million photographs, far too many for a notebook.
#
# Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, MIT licence) lies between them.
# It has the file format and the size of MNIST, so a program for one reads the other, but it shows ten kinds of clothing, some of which even people confuse.
# Each class has 6000 training and 1000 test pictures.
#
# ### Four files
#
# Pictures and labels of both parts lie in four files.
# The next cell looks for them in a folder, either plain or compressed with gzip, also where torchvision would have put them.
# If they are not there, `d2l.fetch` takes them from its cache or downloads them.
# Without a network it makes *stand-in* pictures of garments by code, with the same shapes and types; this notebook then runs as before, and leaves out the comparison with numbers of the real files.

# %% tags=["export"]
FASHION_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                 "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# %% tags=["export"]
def read_bytes(path):
    """Content of a file as a bytearray, unpacked if it is gzip."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if zipped else open)(path, "rb") as file:
            return bytearray(file.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}); "
                         "fetch it again.") from error

# %% tags=["export"]
def fashion_mnist_files(root="data"):
    """Where Fashion-MNIST is: its source and a dict name -> path.

    The source is "real" if the bytes are those of the original files,
    "standin" for pictures made by code, "local" for other files in `root`.
    """
    for folder in (Path(root), Path(root, "FashionMNIST", "raw")):
        found = {name: path for name in FASHION_FILES
                 for path in (folder / f"{name}.gz", folder / name)
                 if path.is_file()}
        if len(found) == 4 and os.environ.get("D2L_DATA") != "standin":
            known = manifest()["fashion-mnist"]["files"]
            same = all(hashlib.sha256(read_bytes(path)).hexdigest()
                       == known[name]["sha256"]
                       for name, path in found.items())
            return ("real" if same else "local"), found
    try:
        data = d2l.fetch("fashion-mnist")
    except d2l.DataError as error:
        raise FileNotFoundError(
            f"Fashion-MNIST is neither in {str(root)!r} nor to be fetched. "
            f"Put the files {', '.join(FASHION_FILES)} (or .gz) there: "
            "torchvision.datasets.FashionMNIST(root, download=True) gets "
            "them, and so does the Debian and Ubuntu package "
            "dataset-fashion-mnist.") from error
    return data.source, data.files

# %%
source, files = fashion_mnist_files()
real = source == "real"
for name in FASHION_FILES:
    print(f"{name:25}{len(read_bytes(files[name])):>12,} bytes")
if not real:
    print("The data are not the original ones: "
          "checks of their numbers are left out.")

# %% [markdown]
# An error message is part of a program.
# Here is the one that a reader without files and without a network will meet, if stand-in pictures are not wanted either.

# %%
with tempfile.TemporaryDirectory() as empty, mock.patch.dict(
        os.environ, D2L_DATA="real", D2L_CACHE=empty, D2L_MIRRORS="",
        D2L_OFFLINE="1"):
    try:
        fashion_mnist_files("nowhere")
    except FileNotFoundError as error:
        print(error)
        assert all(name in str(error) for name in FASHION_FILES)

# %% [markdown]
# ## The file format, read by hand
#
# The files are in *IDX* format, which is simple enough to read without a library.
# A header says what follows; then come the values, one byte for each pixel, row by row and picture by picture.
#
# ![Bytes of the file of training images. Four bytes 00 00 08 03 are the magic number 2051; three integers of four bytes each give 60000 images, 28 rows and 28 columns; the pixels follow.](img/idx-format.svg)
#
# **Figure 4.2.1.** The first 16 bytes of the training images: a magic number that names type and number of dimensions, then one size for each dimension.
#
# The *magic number* is a constant by which a program recognizes a format.
# For images it is 2051, for labels 2049; in hexadecimal, 0803 and 0801, it shows its parts: type 08 (unsigned byte) and three dimensions or one.
# The bytes of each integer stand in *big-endian* order, the most significant first, while the processors of most computers today keep the least significant first.
# The format `">I"` of Python's `struct` module means a big-endian unsigned integer of 32 bits.

# %%
raw = read_bytes(files["train-images-idx3-ubyte"])
print("first bytes:  ", raw[:16].hex(" "))
print("big-endian:   ", struct.unpack(">4I", raw[:16]))
print("little-endian:", struct.unpack("<4I", raw[:16]))

# %%
# check 4.2-C1: headers and sizes of the two training files
labels_raw = read_bytes(files["train-labels-idx1-ubyte"])
assert struct.unpack(">4I", raw[:16]) == (2051, 60000, 28, 28)
assert struct.unpack(">2I", labels_raw[:8]) == (2049, 60000)
assert len(raw) == 47_040_016 == 16 + 60_000 * 28 * 28
assert len(labels_raw) == 60_008

# %% [markdown]
# A reader should not trust its input.
# If the magic number is wrong, the file is something else; if the size differs from what the header promises, the download was cut off.
# Both are reported with the value that was found.
# What passes is viewed as a tensor of the promised shape without copying a byte.

# %% tags=["export"]
def read_idx(path):
    """Read an IDX file of unsigned bytes, plain or gzip, as a tensor.

    Its shape is that of the header: (n, rows, columns) for images, (n,)
    for labels. A `ValueError` names what is wrong with a damaged file.
    """
    raw = read_bytes(path)
    if len(raw) < 4:
        raise ValueError(f"{path} has {len(raw)} bytes, too few for the "
                         "header of an IDX file.")
    magic, = struct.unpack_from(">I", raw)
    ndim = magic % 256
    if magic // 256 != 8 or ndim == 0:
        raise ValueError(
            f"{path} starts with the number {magic}, so it is no IDX file "
            "of bytes; images start with 2051, labels with 2049.")
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise ValueError(f"{path} has {len(raw)} bytes, but its header of "
                         f"{ndim} dimensions needs {start}.")
    shape = struct.unpack_from(f">{ndim}I", raw, 4)
    if len(raw) != start + math.prod(shape):
        raise ValueError(
            f"{path} has {len(raw)} bytes, but its header promises the "
            f"shape {shape}, which needs {start + math.prod(shape)}; "
            "fetch it again.")
    return torch.frombuffer(raw, dtype=torch.uint8)[start:].reshape(shape)

# %%
images, labels, test_images, test_labels = (
    read_idx(files[name]) for name in FASHION_FILES)
for tensor in (images, labels, test_images, test_labels):
    print(tensor.dtype, tuple(tensor.shape))

# %%
header = raw[:16]
bad = {"text": b"hello, world", "short": b"\x00", "nan": b"\0\0\x0d\x03",
       "cut": raw[:10_000], "tail": header[:7],
       "cut.gz": gzip.compress(raw[:10_000])[:50]}
with tempfile.TemporaryDirectory() as folder:
    for name, content in bad.items():
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            read_idx(path)
            raise AssertionError(f"{name} was read without an error")
        except ValueError as error:
            print(str(error).replace(folder + os.sep, ""))

# %% [markdown]
# Reading without an error is not yet reading correctly.
# A header of the wrong length would shift every picture by a few pixels, and nothing would complain.
# So we compare with facts about the files that others can verify: sums, first labels, and a *hash*, a number of 256 bits that changes completely if a single bit of the input changes.

# %%
def sha256(tensor):
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()

print("sum of pixels:", images.sum().item(), test_images.sum().item())
print("first labels: ", labels[:10].tolist(), test_labels[:10].tolist())
print("sum of the first image:", images[0].sum().item())
print("hashes:", sha256(images)[:16], sha256(test_images)[:16])

# %%
# check 4.2-C2: pixels and labels are those of the published files
assert images.shape == (60000, 28, 28) and labels.shape == (60000,)
assert test_images.shape == (10000, 28, 28)
assert images.dtype == labels.dtype == torch.uint8
if real:
    assert images.sum() == 3_431_114_169
    assert test_images.sum() == 573_469_082
    assert labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert test_labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert images[0].sum() == 76_247
    assert sha256(images).startswith("2e487a6c89124f78")
    assert sha256(test_images).startswith("c867c93ff9536059")

# %% [markdown]
# ## The data module
#
# A network computes with floating-point numbers, and PyTorch's layers expect pictures as *channels* $\times$ height $\times$ width.
# A grey picture has $c = 1$ channel, a colour photograph $c = 3$, a hyperspectral satellite picture more than 100.
# So a batch has shape $(n, c, h, w)$, here $(n, 1, 28, 28)$.
# Grey values are scaled to the unit interval:
#
# $$
# x = \frac{p}{255} \tag{4.2.1}
# $$
#
# where $p \in \{0, \dots, 255\}$ is the byte in the file and $x \in [0, 1]$ the number that the model sees.
# The brightest pixel, 255, becomes 1.
#
# When should this division happen?
# All pictures as `float32` need $60\,000 \cdot 784 \cdot 4$ bytes, 188 MB; as bytes they need 47 MB.
# We keep the bytes and divide batch by batch.
# The result is the same number, memory stays four times smaller, and the price is small, as we shall measure.
#
# Resizing is different: it is done once, on the bytes, because it costs far more than a division.
# `F.interpolate` with `antialias=True` averages over the pixels that it merges, as the imaging library Pillow does.
# Large sizes take memory, for 60 000 pictures of $96 \times 96$ more than half a gigabyte; `train_size` limits that.

# %% tags=["export"]
def image_part(images, labels, size, resize, name):
    """The first `size` pictures as bytes (n, 1, h, w), and labels (n,)."""
    n = len(images) if size is None else size
    if len(images) != len(labels) or not 0 < n <= len(images):
        raise ValueError(f"{name} is {size}, with {len(images)} images and "
                         f"{len(labels)} labels to choose from.")
    X = images[:n].unsqueeze(1)  # (n, 1, rows, columns)
    if tuple(X.shape[2:]) != tuple(resize):
        X = F.interpolate(X, size=tuple(resize), mode="bilinear",
                          antialias=True)  # (n, 1, h, w), still bytes
    return X, labels[:n].long()

# %% [markdown]
# The class puts the pieces together.
# `train_size` and `val_size` take the first pictures of each part: a model that trains on 10 000 pictures in a second is often all one needs to test an idea.
# `holdout=k` takes the last $k$ *training* pictures for validation and leaves the test pictures alone, for a reason that Section 4.6 explains: a test set that has guided choices is no test any more.
# `X_train` and its relatives, tensors of floats, come into being when they are asked for, and are kept then.
# There is nothing for `num_workers` processes to do when the data lie in memory; the argument stands there because other data modules need it.

# %% tags=["export"]
class FashionMNIST(DataModule):
    """Fashion-MNIST: bytes in memory, served as floats in [0, 1].

    `train_images` and `val_images` hold bytes (n, 1, h, w), `y_train` and
    `y_val` labels (n,); `source` says whether the data are "real".
    """

    def __init__(self, batch_size=64, resize=(28, 28), root="data",
                 train_size=None, val_size=None, holdout=0, num_workers=0):
        super().__init__()
        self.save_hyperparameters()
        self.source, files = fashion_mnist_files(root)
        X, y, X_val, y_val = (read_idx(files[name])
                              for name in FASHION_FILES)
        if not 0 <= holdout < len(X):
            raise ValueError(f"holdout is {holdout}; choose 0 or a number "
                             f"below the {len(X)} training images.")
        if holdout:
            X, y, X_val, y_val = (X[:-holdout], y[:-holdout],
                                  X[-holdout:], y[-holdout:])
        self.train_images, self.y_train = image_part(
            X, y, train_size, resize, "train_size")
        self.val_images, self.y_val = image_part(
            X_val, y_val, val_size, resize, "val_size")

    @cached_property
    def X_train(self):
        return self.train_images / 255  # (n, 1, h, w) float32

    @cached_property
    def X_val(self):
        return self.val_images / 255

# %% tags=["export"]
@add_to_class(FashionMNIST)
def get_dataloader(self, train):
    """Batches (X, y): floats (n, 1, h, w), labels; shuffled if `train`."""
    part = ((self.train_images, self.y_train) if train
            else (self.val_images, self.y_val))
    return d2l.BatchLoader(part, self.batch_size, shuffle=train,
                           generator=getattr(self, "generator", None),
                           transform=lambda X, y: (X / 255, y))

# %% [markdown]
# The loader is the one of [Section 3.3](../03-linear-regression/03-synthetic-regression-data.ipynb), with the division as its transform.
# Some libraries want a map-style dataset instead; two properties give the same data in that form.

# %% tags=["export"]
@add_to_class(FashionMNIST)
def train_set(self):
    """The training part as a `TensorDataset` of floats."""
    return TensorDataset(self.X_train, self.y_train)
