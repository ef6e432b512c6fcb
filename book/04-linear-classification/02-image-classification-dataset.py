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
# Before a model can be trained, 70 000 pictures must get from files into tensors, at the right scale, with the right labels, and fast enough that the model does not wait.
# A mistake made here often raises no error, and it spoils everything after it.
# This section looks at Fashion-MNIST, turns it into batches, and measures what reading them costs.
#
# **You will**
#
# - verify what you have read, first with your eyes and then with numbers;
# - build the data module that the image classifiers of the following chapters use;
# - find out how far a classifier gets without any training;
# - measure whether reading is the bottleneck, and remove it.
#
# **Cost**: about ten seconds on a CPU, no GPU needed; a download of 31 MB, once.

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
# ## A first look
#
# For many years the first data set of most courses was MNIST: 60 000 training and 10 000 test pictures of handwritten digits, $28 \times 28$ grey pixels each.
# It is too easy today.
# Simple models, such as nearest neighbours, classify more than 95 % of the test digits correctly, so MNIST separates good ideas from mediocre ones badly; it still serves to check that a program works at all.
# ImageNet, the classic yardstick of image classification, is at the other end: more than a million photographs, too many for a notebook.
#
# Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, MIT licence) lies between them.
# It has the file format and the size of MNIST, so a program for one can read the other, but it shows ten kinds of clothing, some of which even people confuse.
# Each class has 6000 training and 1000 test pictures.
#
# Pictures and labels of the two parts lie in four files.
# The folded cells find them, or fetch them once, and read them; Exercises 4.2-5 and 4.2-6 open them up.
# Without a network, pictures of garments made by code stand in for them, and the comparisons with numbers of the real files are left out.

# %% tags=["export", "hide-input"]
FASHION_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                 "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FASHION_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat",
                   "sandal", "shirt", "sneaker", "bag", "ankle boot")


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

# %% tags=["export", "hide-input"]
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
source, files = fashion_mnist_files()
real = source == "real"
images, labels, test_images, test_labels = (
    read_idx(files[name]) for name in FASHION_FILES)
print(images.dtype, tuple(images.shape), tuple(labels.shape))
titles = [FASHION_CLASSES[y] for y in labels[:16]]
axes = d2l.show_images(images[:16], 2, 8, titles=titles, scale=1.1)
d2l.describe(axes, "Sixteen small grey pictures of clothing in two rows, "
             "each with the name of its class above it: "
             + ", ".join(titles) + ".")

# %% [markdown]
# **Figure 4.2.1.** The first 16 training pictures with their labels; name and picture fit.
#
# `d2l.show_images(imgs, num_rows, num_cols, titles=None, scale=1.5)` accepts grey pictures $(h, w)$ or $(1, h, w)$ and colour ones $(3, h, w)$ or $(h, w, 3)$, as floats in $[0, 1]$ or as bytes.
# It draws all pictures on one scale, from black to the top of their type.
# Matplotlib's default would stretch each picture to its own minimum and maximum, and so hide errors of scale.
#
# And this is how it looks when something went wrong.
# Each of these pictures has the right shape and would pass through a network without an error.

# %%
x = images[0] / 255  # (28, 28)
faulty = {"correct": x, "h and w swapped": x.mT, "not divided": 255 * x,
          "shifted start": x.flatten().roll(9).reshape(28, 28),
          "divided twice": x / 255}
axes = d2l.show_images(list(faulty.values()), 1, 5, titles=list(faulty),
                       scale=1.4)
d2l.describe(axes, "Five versions of one picture: correct; with height and "
             "width swapped it lies on its side; not divided by 255 it is "
             "a white silhouette; with a shifted start it is cut and wraps "
             "around; divided twice it is black.")

# %% [markdown]
# **Figure 4.2.2.** Four common faults, obvious to the eye and invisible to a check of shapes.
#
# The eye does not see single pixels, though.
# So we also compare with facts about the files that others can verify: sums, first labels, and a *hash*, a number of 256 bits that changes completely if a single bit of the input changes.

# %%
def sha256(tensor):
    return hashlib.sha256(tensor.numpy()).hexdigest()

sums = [int(part.numpy().sum()) for part in (images, test_images)]
print("sum of pixels:", *sums)
print("first labels: ", labels[:10].tolist(), test_labels[:10].tolist())
print("sum of the first image:", images[0].sum().item())
print("hashes:", sha256(images)[:16], sha256(test_images)[:16])

# %%
# check 4.2-C2: pixels and labels are those of the published files
assert images.shape == (60000, 28, 28) and labels.shape == (60000,)
assert test_images.shape == (10000, 28, 28)
assert images.dtype == labels.dtype == torch.uint8
if real:
    assert sums == [3_431_114_169, 573_469_082]
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
#
# When should this division happen?
# All training pictures as `float32` need $60\,000 \cdot 784 \cdot 4$ bytes, 188 MB; as bytes they need 47 MB.
# We keep the bytes and divide batch by batch, which gives the same numbers at a cost that we shall measure.

# %% tags=["export"]
def scale_bytes(X):
    """Bytes 0 to 255 as floats in [0, 1], of the same shape."""
    return X.float().div_(255)  # `float` copies, `div_` needs no second copy

# %% [markdown]
# Resizing is done once, on the bytes, because it costs far more than a division.
# A smaller picture must average over the pixels that it merges.
# Without `antialias=True`, `F.interpolate` reads only the nearest neighbours of each new pixel, skips the rest, and turns a fine pattern into a coarse one that was never there.
# Large sizes take memory, for 60 000 pictures of $96 \times 96$ more than half a gigabyte; `train_size` limits that.

# %% tags=["export"]
def image_part(images, labels, size, resize, name):
    """The first `size` pictures as bytes (n, 1, h, w), and labels (n,)."""
    n = len(images) if size is None else size
    if len(images) != len(labels) or not 0 < n <= len(images):
        raise ValueError(f"{name} is {size}, but after holdout there are "
                         f"{len(images)} images and {len(labels)} labels.")
    X = images[:n].unsqueeze(1)  # (n, 1, rows, columns)
    if tuple(X.shape[2:]) != tuple(resize):
        X = F.interpolate(X, size=tuple(resize), mode="bilinear",
                          antialias=True)  # (n, 1, h, w), still bytes
    return X, labels[:n].long()

# %%
X, y = image_part(images, labels, 100, (10, 10), "train_size")
coarse = F.interpolate(images[:100, None].float(), size=(10, 10),
                       mode="bilinear")  # no antialias
pillow = torch.stack([torch.frombuffer(bytearray(
    Image.fromarray(picture.numpy()).resize((10, 10), Image.BILINEAR)
    .tobytes()), dtype=torch.uint8).reshape(1, 10, 10)
    for picture in images[:100]])  # (100, 1, 10, 10)
print("largest difference from Pillow:",
      (X.int() - pillow.int()).abs().max().item(), "with antialias,",
      round((coarse - pillow).abs().max().item()), "without, of 255")
assert (X.int() - pillow.int()).abs().max() <= 1
assert (coarse - pillow).abs().max() > 50

# %% [markdown]
# The class puts the pieces together.
# `train_size` and `val_size` take the first pictures of each part: a model that trains on 10 000 pictures in a second is often all one needs to test an idea.
# `holdout=k` takes the last $k$ *training* pictures for validation and leaves the test pictures alone, for a reason that [Section 4.6](06-generalization-classification.ipynb) explains: a test set that has guided choices no longer tests.
# The float tensors `X_train` and `X_val` are made when they are first asked for, and are kept then.
# With data in memory there is nothing for `num_workers` processes to do; the argument is there because other data modules need it.

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
        if holdout:
            k = max(len(X) - holdout, 0)
            X, y, X_val, y_val = X[:k], y[:k], X[k:], y[k:]
        self.train_images, self.y_train = image_part(
            X, y, train_size, resize, "train_size")
        self.val_images, self.y_val = image_part(
            X_val, y_val, val_size, resize, "val_size")

    @cached_property
    def X_train(self):
        return scale_bytes(self.train_images)  # (n, 1, h, w)

    @cached_property
    def X_val(self):
        return scale_bytes(self.val_images)

    @property
    def train(self):
        return TensorDataset(self.X_train, self.y_train)

    @property
    def val(self):
        return TensorDataset(self.X_val, self.y_val)

# %% tags=["export"]
@add_to_class(FashionMNIST)
def get_dataloader(self, train):
    """Batches (X, y): floats (n, 1, h, w), labels; shuffled if `train`."""
    part = ((self.train_images, self.y_train) if train
            else (self.val_images, self.y_val))
    return d2l.BatchLoader(part, self.batch_size, shuffle=train,
                           generator=getattr(self, "generator", None),
                           transform=lambda X, y: (scale_bytes(X), y))

# %% [markdown]
# The loader is the one of [Section 3.3](../03-linear-regression/03-synthetic-regression-data.ipynb), with the division as its transform.
# For libraries that want a map-style dataset, `train` and `val` give the same floats as a `TensorDataset`.
# Two more methods translate labels into words and draw a batch.

# %% tags=["export"]
@add_to_class(FashionMNIST)
def text_labels(self, indices):
    """Names of the classes with these numbers."""
    return [FASHION_CLASSES[int(i)] for i in indices]

# %% tags=["export"]
@add_to_class(FashionMNIST)
def visualize(self, batch, nrows=1, ncols=8, labels=()):
    """Draw the first pictures of a batch; returns the axes.

    Above each stands its label, or the text given in `labels`.
    """
    X, y = (tensor[:nrows * ncols] for tensor in batch)
    titles = list(labels) or self.text_labels(y)
    return d2l.show_images(X, nrows, ncols, titles=titles, scale=1.1)

# %%
data = FashionMNIST(batch_size=64, resize=(32, 32))
data.generator = torch.Generator().manual_seed(0)
X, y = next(iter(data.train_dataloader()))
print("X:", X.dtype, tuple(X.shape), "y:", y.dtype, tuple(y.shape))
print("batches:", len(data.train_dataloader()), len(data.val_dataloader()))
axes = data.visualize((X, y))
d2l.describe(axes, "Eight pictures of a batch in random order, each under "
             "its name: " + ", ".join(data.text_labels(y[:8])) + ".")

# %% [markdown]
# **Figure 4.2.3.** The beginning of a training batch, resized to $32 \times 32$: another order than in Figure 4.2.1, and names that still fit.

# %%
# check 4.2-C5: shapes, types and number of batches
assert X.shape == (64, 1, 32, 32) and X.dtype == torch.float32
assert y.shape == (64,) and y.dtype == torch.int64
assert data.train_images[0].shape == (1, 32, 32)
assert [ax.get_title() for ax in axes] == data.text_labels(y[:8])
for loader, n in ((data.train_dataloader(), 60_000),
                  (data.val_dataloader(), 10_000)):
    assert len(loader) == math.ceil(n / 64) == sum(1 for _ in loader)

# %% [markdown]
# Training batches come in a new random order each epoch, and each picture keeps its label.
# Validation batches come in the order of the file, so that results can be matched with pictures.
# To test both, we write the number of each picture into its first two pixels, and read it back from the batches.

# %%
data = FashionMNIST(batch_size=256)
tagged = FashionMNIST(batch_size=256, train_size=3000, val_size=3000)
number = torch.arange(3000)
for pictures in (tagged.train_images, tagged.val_images):
    pictures[:, 0, 0, 0], pictures[:, 0, 0, 1] = number // 256, number % 256


def delivered(loader):
    """Numbers of the pictures in the order of delivery, and labels."""
    X, y = (torch.cat(parts) for parts in zip(*loader))
    pixels = (255 * X[:, 0, 0, :2]).round().long()  # (n, 2)
    return 256 * pixels[:, 0] + pixels[:, 1], y


orders = []
for seed in (0, 0, 1):
    tagged.generator = torch.Generator().manual_seed(seed)
    loader = tagged.train_dataloader()
    for epoch in range(2):
        order, y = delivered(loader)
        assert torch.equal(order.sort().values, number)  # all, once
        assert torch.equal(y, tagged.y_train[order])  # with their labels
        orders.append(order)
same = [(a == b).float().mean().item() for a, b in (
    (orders[0], number), (orders[0], orders[1]), (orders[0], orders[4]))]
print("share in place: against the file {:.4f}, next epoch {:.4f}, "
      "other seed {:.4f}".format(*same))
assert max(same) < 0.01
assert torch.equal(orders[0], orders[2])  # the generator decides
assert torch.equal(delivered(tagged.val_dataloader())[0], number)

# %%
X, y = (torch.cat(parts) for parts in zip(*data.val_dataloader()))
assert torch.equal(X[:, 0], test_images / 255)  # divided once, in order
assert torch.equal(y, test_labels.long())
assert torch.equal(data.val_images[:, 0], test_images)  # bytes untouched
assert torch.equal(data.X_val, X) and data.val[5][1] == y[5]
assert data.X_val is data.X_val  # made once, and kept

# %% [markdown]
# The subsets deserve a look of their own.
# In the whole set the classes are exactly balanced; in the first 10 000 pictures they are not, because the file is not sorted by class.
# A classifier that always names the most frequent class of such a subset is right there a little more often than one time in ten.

# %%
small = FashionMNIST(train_size=10_000, val_size=2_000)
held = FashionMNIST(holdout=10_000)
for name, part in (("all", data), ("small", small), ("held", held)):
    print(f"{name:6}{len(part.y_train):6} +{len(part.y_val):6}",
          torch.bincount(part.y_train).tolist())

# %%
# check 4.2-C3: classes are balanced in the whole set, not in a part
assert torch.bincount(data.y_train).tolist() == [6000] * 10
assert torch.bincount(data.y_val).tolist() == [1000] * 10
if real:
    assert torch.bincount(small.y_train).tolist() == [
        942, 1027, 1016, 1019, 974, 989, 1021, 1022, 990, 1000]

# %% tags=["hide-input"]
assert torch.equal(held.val_images, data.train_images[50_000:])
assert torch.equal(held.train_images, data.train_images[:50_000])
assert torch.equal(held.y_val, data.y_train[50_000:])
assert torch.equal(small.X_train, scale_bytes(data.train_images[:10_000]))
assert torch.equal(small.val_images, data.val_images[:2_000])
for wrong in ({"train_size": 60_001}, {"val_size": 0},
              {"holdout": 60_000}, {"holdout": -1}):
    try:
        FashionMNIST(**wrong)
        raise AssertionError(f"{wrong} was accepted")
    except ValueError as error:
        print(error)
del small, held, tagged

# %% [markdown]
# ### The same with torchvision
#
# The package torchvision holds dozens of such data sets and the transforms that go with them.
# With `download=True`, `torchvision.datasets.FashionMNIST` fetches the same four files; the folded cell reads the ones that we have, and is skipped where torchvision is not installed.
#
# Its classic transform `ToTensor` takes a Pillow picture, or bytes in the order height $\times$ width $\times$ channels, and returns floats in $[0, 1]$ with the channel first.
# The newer transforms `v2` split this into `v2.ToImage`, which changes the container, and `v2.ToDtype(torch.float32, scale=True)`, which changes type and scale.
# `transforms.Compose` chains several of them, for example after a `Resize`.
# The two ways differ slightly: `ToTensor` divides by 255, `v2` multiplies by the rounded reciprocal, and for about half of the 256 byte values the results differ in the last bit.
# That matters to a test for equality and hardly to anything else.

# %% tags=["hide-input"]
def torchvision_data(transform):
    """Training part as torchvision's data set, from the files we have."""
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, "FashionMNIST", "raw")
        raw.mkdir(parents=True)
        for name in FASHION_FILES:
            (raw / name).write_bytes(read_bytes(files[name]))
        return torchvision.datasets.FashionMNIST(
            root, train=True, transform=transform, download=False)

if torchvision is None:
    print("torchvision is not installed: comparison left out.")
else:
    modern = v2.Compose([v2.ToImage(),
                         v2.ToDtype(torch.float32, scale=True)])
    theirs = torchvision_data(modern)
    X, y = theirs[0]
    print(len(theirs), X.dtype, tuple(X.shape), "label", y)

# %% tags=["hide-input"]
# check 4.2-C7: ToTensor is the division by 255, exactly
if torchvision is not None:
    classic = torchvision.transforms.ToTensor()
    for i in range(0, 60_000, 600):
        ours = scale_bytes(data.train_images[i])  # (1, 28, 28)
        assert torch.equal(classic(Image.fromarray(images[i].numpy())), ours)
        modern_x, y = theirs[i]
        torch.testing.assert_close(modern_x, ours, rtol=1.3e-7, atol=0)
        assert y == data.y_train[i]
    values = torch.arange(256, dtype=torch.uint8)
    scaled = v2.functional.to_dtype(values, torch.float32, scale=True)
    print("byte values scaled differently by v2:",
          (scaled != values / 255).sum().item(), "of 256")

# %% [markdown]
# ## What is in the pixels
#
# Before modelling, we want to know the range, the mean and the spread of the inputs.
# Half of all pixels are exactly zero: the black background.
# The others spread over the whole range.

# %%
counts = torch.bincount(images.flatten(), minlength=256)  # (256,)
share = counts.double() / counts.sum()
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.bar(torch.arange(4, 256, 8), share.reshape(32, 8).sum(dim=1), width=7)
ax.set(xlabel="pixel value $p$ (bins of 8)", ylabel="share of pixels",
       yscale="log", ylim=(0.003, 1), xticks=range(0, 257, 32))
d2l.describe(ax, "Histogram of pixel values on a logarithmic axis. The "
             "darkest bin holds more than half of all pixels, each other "
             "bin a few per cent or less.")

# %% [markdown]
# **Figure 4.2.4.** More than half of the pixels are in the darkest bin; mind the logarithmic axis.

# %%
# check 4.2-C4: mean, standard deviation and share of zeros
values = scale_bytes(torch.arange(256).byte()).double()  # (256,)
mean = (share * values).sum()
std = (share * (values - mean).square()).sum().sqrt()
print(f"mean {mean:.4f}, standard deviation {std:.4f}, "
      f"zeros {share[0]:.4f}")
assert 0.1 < mean < 0.5 and 0.2 < std < 0.5
if real:
    assert abs(mean - 0.2860) < 1e-4 and abs(std - 0.3530) < 1e-4
    assert abs(share[0] - 0.5021) < 1e-4

# %% [markdown]
# These two numbers, 0.2860 and 0.3530, stand in many programs as `Normalize((0.2860,), (0.3530,))`, which subtracts the mean and divides by the standard deviation.
# They are statistics of the *training* pictures.
# Computing them with the test pictures included, or normalizing the test pictures by their own, lets information about the test set into the model.
#
# Forgetting the division by 255 has a much larger effect.
# The curvature of the squared loss grows with the square of the inputs, so the largest stable learning rate ([Section 3.1](../03-linear-regression/01-linear-regression.ipynb)) shrinks by a factor of $255^2 = 65\,025$.
# A rate that works for the divided pictures then diverges at once.

# %%
def squared_loss_after(X, lr, steps=10):
    """Gradient descent on one-hot labels; the loss before and after."""
    Y, W = F.one_hot(data.y_val[:1000], 10).double(), 0
    losses = []
    for _ in range(steps + 1):
        error = X @ W - Y if losses else -Y  # W = 0 at the start
        losses.append((error.square().sum() / (2 * len(X))).item())
        W = W - lr * X.mT @ error / len(X)  # (784, 10)
    return losses[0], losses[-1]


X = data.X_val[:1000].flatten(1).double()  # (1000, 784)
for name, inputs in (("divided", X), ("not divided", 255 * X)):
    first, last = squared_loss_after(inputs, lr=0.01)
    print(f"{name:12} loss {first:.2f} -> {last:.3g}")
    assert (last < 0.9 * first) if name == "divided" else (last > 1e9)

# %% [markdown]
# ### A classifier without training
#
# How far does one get without any learning algorithm?
# Average the training pictures of each class, and give a new picture the label of the nearest average:
#
# $$
# \hat y = \operatorname*{argmin}_k \|\mathbf{x} - \boldsymbol{\mu}_k\|^2
#        = \operatorname*{argmin}_k \left(\|\boldsymbol{\mu}_k\|^2 - 2\,\boldsymbol{\mu}_k^\top\mathbf{x}\right) \tag{4.2.2}
# $$
#
# Here $\mathbf{x} \in \mathbb{R}^{784}$ is a flattened picture, $\boldsymbol{\mu}_k \in \mathbb{R}^{784}$ the mean of the training pictures of class $k$, and $\hat y$ the predicted class.
# The second form leaves out $\|\mathbf{x}\|^2$, which is the same for all $k$; it turns the search for all test pictures into one matrix product.
# It is also a linear score per class, so this classifier belongs to the family that [Section 4.1](01-softmax-regression.ipynb) trains.

# %%
sums = torch.zeros(10, 784)
for X, y in data.train_dataloader():
    sums += F.one_hot(y, 10).float().mT @ X.flatten(1)  # (10, 784)
means = sums / torch.bincount(data.y_train).unsqueeze(1)
axes = d2l.show_images(means.reshape(10, 28, 28), 2, 5,
                       titles=data.text_labels(range(10)), scale=1.2)
d2l.describe(axes, "Ten blurred pictures, the mean of each class. Pullover, "
             "coat and shirt are hard to tell apart; trouser, bag and "
             "ankle boot have shapes of their own.")

# %% [markdown]
# **Figure 4.2.5.** The mean picture of each class: those of pullover, coat and shirt are nearest to one another, and these three classes are recognized least often below.

# %%
def nearest(X, centres):
    """Index of the nearest centre for each row of X."""
    scores = centres.square().sum(dim=1) - 2 * X @ centres.mT  # (n, k)
    return scores.argmin(dim=1)

hits = nearest(data.X_val.flatten(1), means) == data.y_val
print(f"nearest class mean: accuracy {hits.float().mean():.4f}")
for k, name in enumerate(data.text_labels(range(10))):
    print(f"  {name:12}{hits[data.y_val == k].float().mean():.2f}")

# %%
# check 4.2-C8: nearest class mean classifies two thirds correctly
accuracy = hits.float().mean()
rows = data.X_val[:50].flatten(1)  # by (4.2.2), first form
assert torch.equal(nearest(rows, means), torch.cdist(rows, means).argmin(1))
assert accuracy > 0.2  # chance is 0.1
if real:
    assert abs(accuracy - 0.6768) < 2e-4
    found = torch.stack([hits[data.y_val == k].float().mean()
                         for k in range(10)])  # (10,)
    assert set(found.topk(3, largest=False).indices.tolist()) == {2, 4, 6}
    apart = torch.cdist(means, means) + 100 * torch.eye(10)
    assert {i for k in (2, 4, 6) for i in apart[k].topk(
        2, largest=False).indices.tolist()} == {2, 4, 6}

# %% [markdown]
# Ten averages classify two thirds of the test pictures correctly.
# A trained model should be compared with this, not with the 10 % of guessing.
#
# ### Is the test set new?
#
# A test measures performance on new data only if the test pictures *are* new.
# Large collections gathered automatically often contain the same picture twice, once in each part.
# Comparing every test picture with every training picture would take 600 million comparisons.
# A hash table needs one step per picture: put the bytes of each into a set.

# %%
def picture_set(images):
    return {row.tobytes() for row in images.flatten(1).numpy()}

train_set, test_set = picture_set(images), picture_set(test_images)
print("training:", len(images), "pictures,", len(train_set), "different")
print("test:    ", len(test_images), "pictures,",
      len(test_set & train_set), "also in training")

# %%
# check 4.2-C6: no duplicates within training, none shared with the test
assert len(picture_set(images[[0, 1, 0]])) == 2  # duplicates are found
if real:
    assert len(train_set) == 60_000
    assert train_set.isdisjoint(test_set)
del train_set, test_set

# %% [markdown]
# This finds exact copies only.
# Pictures that differ by a small shift or by compression need a comparison of features.

# %% [markdown]
# ## What reading costs
#
# On a fast device, training is often limited by its data rather than by the model.
# The customary construction is a dataset that decodes one example when it is asked for, and a `DataLoader` that stacks them.
# Photographs on a disk leave little choice; for pictures that fit into memory the construction wastes most of its time.
# We compare three ways to read the same pictures with the bare minimum, a loop that converts slices of the stored bytes.

# %% tags=["hide-input"]
def picture_to_tensor(picture):
    """What ToTensor does, for grey pictures and without torchvision."""
    data = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return data.reshape(1, picture.height, picture.width) / 255

class ItemDataset(Dataset):
    """Decodes one picture at each request, as if it came from a file."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        self.transform = (picture_to_tensor if torchvision is None
                          else torchvision.transforms.ToTensor())

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        picture = Image.fromarray(self.images[i].numpy())
        return self.transform(picture), self.labels[i].item()

# %%
part = FashionMNIST(batch_size=64, train_size=read_images)

def slices():
    for i in range(0, read_images, 64):
        yield (scale_bytes(part.train_images[i:i + 64]),
               part.y_train[i:i + 64])

items = ItemDataset(images[:read_images], labels[:read_images])
ways = {
    "item by item, DataLoader": DataLoader(items, 64, shuffle=True),
    "TensorDataset, DataLoader": DataLoader(part.train, 64, shuffle=True),
    "bytes, BatchLoader": part.train_dataloader(),
    "bare loop over slices": slices}

# %%
# check: each way serves the same pictures, those for training
for way in ways.values():
    seen = torch.cat([y for _, y in (way() if callable(way) else way)])
    assert torch.equal(seen.bincount(), part.y_train.bincount())

# %%
def epoch_seconds(loader, repeats=5):
    """Shortest time of an epoch, without keeping the batches."""
    times = []
    for _ in range(repeats):
        timer = Timer()
        for X, y in loader() if callable(loader) else loader:
            pass
        times.append(timer.stop())
    return min(times)

seconds = [epoch_seconds(loader) for loader in ways.values()]

# %% tags=["timing", "hide-input"]
fig, ax = plt.subplots(figsize=(6.5, 2.2))
microseconds = [1e6 * s / read_images for s in seconds]
bars = ax.barh(list(ways), microseconds, color=["C1", "C0", "C2", "0.6"])
ax.bar_label(bars, fmt="%.3g", padding=3)
ax.set(xlabel="microseconds per picture", xscale="log",
       xlim=(0.1, 5 * max(microseconds)))
ax.invert_yaxis()
d2l.describe(ax, "Horizontal bars of the time per picture on a "
             "logarithmic axis: item by item is slowest by far, then "
             "TensorDataset with DataLoader; BatchLoader is close to the "
             "bare loop over slices.")

# %% [markdown]
# **Figure 4.2.6.** Reading item by item takes more than ten times as long as reading whole batches from memory; the batch loader comes close to the bare loop (logarithmic axis).

# %%
# check 4.2-C9: item by item is at least 10 times as slow as batches
by_item, by_dataloader, by_batch, bare = seconds
assert by_item > 3 * by_dataloader and by_item > 10 * by_batch
assert by_batch < 5 * bare
X, y = next(iter(DataLoader(items, 64)))  # the ways deliver the same
assert torch.equal(X, scale_bytes(part.train_images[:64]))
assert torch.equal(y, part.y_train[:64])

# %% [markdown]
# Where does the time go?
# Not into the arithmetic, since all ways divide the same bytes by 255.
# The next cell makes the same division of the same pictures in one call, in one call per batch, and in one call per picture.

# %% tags=["timing"]
for size in (read_images, 64, 1):
    blocks = part.train_images.split(size)
    times = []
    for _ in range(5):
        timer = Timer()
        for block in blocks:
            scale_bytes(block)
        times.append(timer.stop())
    s = min(times)
    print(f"{len(blocks):5} calls: {1e6 * s / read_images:6.2f} "
          "microseconds per picture")

# %% [markdown]
# Converting and dividing one picture by itself takes several microseconds, against a fraction of one as part of a batch: what is paid for is the call from Python, not the 784 divisions.
# Item-by-item reading makes many such calls per picture; Exercise 4.2-2 finds the most expensive ones.
# Decoding once and indexing whole batches removes nearly all of them.
# Where decoding on request cannot be avoided, worker processes (`num_workers`) share the work, and the training loop waits less.

# %% [markdown]
# ## Summary
#
# - Pictures drawn with their labels show how they were read; sums, first labels and a hash show what was read.
# - Pictures stay bytes in memory and become floats in $[0, 1]$ batch by batch; a smaller size needs antialiasing.
# - Training data are shuffled anew in each epoch, validation data are not; statistics for normalizing come from the training part only.
# - Ten class means classify two thirds of the test pictures: the baseline for every model that is trained.
# - No test picture occurs in the training part; a set of bytes tells this in a moment.
# - Reading item by item is slow because of its calls from Python; indexing whole batches is faster by a factor of ten or more.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 4.2-1
#
# Compare the time of an epoch for batch sizes from 1 to 1024.
# How much does a picture cost in batches of 1 and of 256?

# %% [markdown]
# #### Solution 4.2-1

# %% [markdown]
# A batch has a fixed cost, some calls from Python, and a cost per picture.
# With batches of one, the fixed cost is paid for each picture and dominates.
# From about a hundred pictures on, the cost per picture dominates and the curve is flat.

# %%
sizes = [1, 4, 16, 64, 256, 1024]
times = []
for size in sizes:
    part.batch_size = size
    s = epoch_seconds(part.train_dataloader(), repeats=3)
    times.append(1e6 * s / read_images)
assert times[0] > 3 * times[sizes.index(256)]

# %% tags=["timing"]
ax = d2l.plot(sizes, times, xlabel="batch size", xscale="log",
              yscale="log", ylabel="microseconds per picture",
              fmts=("o-",))
d2l.describe(ax, "On logarithmic axes the time per picture falls "
             "steeply with the batch size and is flat from about 100 on.")

# %% [markdown]
# **Figure 4.2.7.** The fixed cost of a batch is shared by its pictures.

# %% [markdown]
# ### Exercise 4.2-2
#
# Profile an epoch of the item-by-item loader with `cProfile`, and name the slowest call.

# %% [markdown]
# #### Solution 4.2-2

# %% [markdown]
# The profile counts calls and adds up the time spent inside each function, without the functions that it calls in turn (`tottime`) or with them (`cumtime`).
# Sorted by `cumtime`, the list starts with the loader, the dataset's `__getitem__` and the transform, which contain one another.
# Sorted by `tottime`, it names the calls that do the work: the ones that convert a tensor to a Pillow picture and the picture to a tensor are near its top.
# Stacking the batch (`default_collate`) is a small part.
# So more workers would help, faster stacking would not, and decoding once removes the cost.

# %%
profile = cProfile.Profile()
profile.enable()
for X, y in DataLoader(items, 64):
    pass
profile.disable()
rows = [(own, total, calls, name) for (_, _, name), (
    _, calls, own, total, _) in pstats.Stats(profile).stats.items()]
rows.sort(reverse=True)  # by the time in the function itself
within = {}  # name -> time with all functions that it calls
for own, total, calls, name in rows:
    within[name] = max(within.get(name, 0), total)

# %% tags=["timing"]
slowest = {}  # name -> the slowest function of that name
for row in rows:
    slowest.setdefault(row[-1], row)
print("   own   total  calls  function")
for key in ("tobytes", "to_tensor", "__getitem__", "default_collate"):
    own, total, calls, name = slowest[key]
    print(f"{own:6.3f}{total:8.3f}{calls:7}  {name}")

# %%
assert max(calls for *_, calls, name in rows
           if name == "__getitem__") == read_images
assert within["__getitem__"] > 0.5 * within["fetch"]
assert within["__getitem__"] > 2 * within["default_collate"]
per_picture = sum(own for own, _, calls, _ in rows if calls >= read_images)
assert per_picture > 0.7 * sum(own for own, *_ in rows)

# %% [markdown]
# ### Exercise 4.2-3
#
# Which class is the brightest on average, and which the darkest?
# Could brightness alone classify?

# %% [markdown]
# #### Solution 4.2-3

# %% [markdown]
# Coats are the brightest: they cover most of the picture.
# Sandals are the darkest, being little more than straps.
# The means of several classes lie close together, though, and pictures of one class differ greatly, so brightness alone gives a poor classifier, better than guessing but far below the class means.

# %%
brightness = means.mean(dim=1)  # (10,)
order = brightness.argsort(descending=True)
for k in order.tolist():
    print(f"{data.text_labels([k])[0]:12}{brightness[k]:.3f}")
guess = nearest(data.X_val.mean(dim=(1, 2, 3)).unsqueeze(1),
                brightness.unsqueeze(1))
by_brightness = (guess == data.y_val).float().mean()
print(f"by brightness alone: accuracy {by_brightness:.3f}")
assert 0.12 < by_brightness < accuracy - 0.2
if real:
    assert data.text_labels(order[[0, -1]]) == ["coat", "sandal"]
    assert abs(brightness[4] - 0.385) < 1e-3
    assert abs(brightness[5] - 0.137) < 1e-3

# %% [markdown]
# ### Exercise 4.2-4
#
# Give each test picture the label of the most similar training picture (*one nearest neighbour*).
# Use the first 2000 training and the first 1000 test pictures, and no loop.

# %% [markdown]
# #### Solution 4.2-4

# %% [markdown]
# The function `nearest` from above does it, with pictures as centres.
# One matrix product gives all two million distances; computing them as differences would build a tensor of $1000 \cdot 2000 \cdot 784$ numbers, more than six gigabytes.
# With a thirtieth of the data it beats the class means.
# The guess is that a class has several shapes, which one mean blurs.
# To test it, we give each class several means of the same 2000 pictures: start from some pictures, assign each picture of the class to the nearest mean, average, and repeat (*k-means*).

# %%
match = nearest(data.X_val[:1000].flatten(1),
                scale_bytes(data.train_images[:2000]).flatten(1))  # (1000,)
hits = data.y_train[match] == data.y_val[:1000]
print(f"one nearest neighbour: accuracy {hits.float().mean():.3f}")
if real:
    assert abs(hits.float().mean() - 0.794) < 2e-3
    assert hits.float().mean() > accuracy

# %%
def several_means(X, k, steps=10):
    """k means (k, d) of the rows X (n, d), each of a part of them."""
    centres = X[:k]
    for _ in range(steps):
        part = nearest(X, centres)
        centres = torch.stack([X[part == j].mean(dim=0) if (part == j).any()
                               else centres[j] for j in range(k)])
    return centres

rows, y = data.X_val[:1000].flatten(1), data.y_train[:2000]
X = scale_bytes(data.train_images[:2000]).flatten(1)
by_means = []
for k in (1, 5, 20):
    centres = torch.cat([several_means(X[y == c], k) for c in range(10)])
    right = nearest(rows, centres) // k == data.y_val[:1000]
    by_means.append(right.float().mean().item())
    print(f"{k:2} means per class: accuracy {by_means[-1]:.3f}")
if real:
    assert abs(by_means[0] - accuracy) < 0.02  # one mean, fewer pictures
    assert by_means[0] + 0.05 < by_means[1] < by_means[2]
    assert by_means[2] < hits.float().mean()

# %% [markdown]
# The same pictures with more means per class come closer to the nearest neighbour, which keeps them all.

# %% [markdown]
# ### Exercise 4.2-5
#
# The files are in *IDX* format: a *magic number*, one size per dimension, then one byte per value.
# Read the first 16 bytes of the training images by hand, in both orders of bytes.
# Then write `write_idx(path, tensor)` for tensors of bytes with any number of dimensions, read a file back, and compare your label file with the original byte by byte.

# %% [markdown]
# #### Solution 4.2-5

# %% [markdown]
# ![Bytes of the file of training images. Four bytes 00 00 08 03 are the magic number 2051; three integers of four bytes each give 60000 images, 28 rows and 28 columns; the pixels follow.](img/idx-format.svg)
#
# **Figure 4.2.8.** The first 16 bytes of the training images: a magic number that names type and number of dimensions, then one size per dimension.
#
# A magic number is a constant by which a program recognizes a format.
# For images it is 2051, for labels 2049; in hexadecimal, 0803 and 0801, it shows its parts: type 08 (unsigned byte) and three dimensions or one.
# The bytes of each integer stand in *big-endian* order, the most significant first, while most processors today keep the least significant first.
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
# Writing packs the header with the same format that unpacked it.
# Writing and reading must be inverse to each other in both directions: tensor to file to tensor, and file to tensor to file.

# %%
def write_idx(path, tensor):
    """Write a tensor of bytes as an IDX file, compressed if `.gz`."""
    if tensor.dtype != torch.uint8 or tensor.ndim == 0:
        raise ValueError("write_idx needs bytes with one dimension or "
                         f"more, got {tensor.dtype} {tuple(tensor.shape)}.")
    magic = 8 * 256 + tensor.ndim
    header = struct.pack(f">{1 + tensor.ndim}I", magic, *tensor.shape)
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(header + tensor.numpy().tobytes())

g = torch.Generator().manual_seed(0)
shapes = [(5,), (4, 3), (2, 3, 4), (2, 3, 4, 5), (0, 28, 28)]
with tempfile.TemporaryDirectory() as folder:
    for shape in shapes:
        tensor = torch.randint(256, shape, generator=g, dtype=torch.uint8)
        for path in (Path(folder, "plain"), Path(folder, "zipped.gz")):
            write_idx(path, tensor)
            assert torch.equal(read_idx(path), tensor)
    write_idx(Path(folder, "labels"), labels)
    assert Path(folder, "labels").read_bytes() == bytes(labels_raw)
    for name in FASHION_FILES:  # other content under the four names
        write_idx(Path(folder, name), tensor)
    with mock.patch.dict(os.environ, D2L_DATA="auto"):
        assert fashion_mnist_files(folder)[0] == "local"

# %% [markdown]
# ### Exercise 4.2-6
#
# A reader should not trust its input.
# In which ways can an IDX file be damaged or missing, and what should the error say?
# Feed `read_idx` with damaged files and read its messages.

# %% [markdown]
# #### Solution 4.2-6

# %% [markdown]
# If the magic number is wrong, the file is something else; if the size differs from what the header promises, the download was cut off; a compressed file may end too early.
# A header of the wrong length would shift every picture by a few pixels, and without the check of the size nothing would complain.
# A good message names the file, what was found, what was expected, and what to do.

# %%
header = raw[:16]
bad = {"text": b"hello, world", "short": b"\x00", "floats": b"\0\0\x0d\x03",
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
# The second cell shows the message for a reader without the files and without a network.

# %%
with tempfile.TemporaryDirectory() as empty, mock.patch.dict(
        os.environ, D2L_DATA="real", D2L_CACHE=empty, D2L_MIRRORS="",
        D2L_OFFLINE="1"), mock.patch.dict(
        manifest()["fashion-mnist"], folders=[]):
    try:
        fashion_mnist_files("nowhere")
    except FileNotFoundError as error:
        print(error)
        assert all(name in str(error) for name in FASHION_FILES)

# %% [markdown]
# ## Sources
#
# - H. Xiao, K. Rasul, R. Vollgraf (2017). Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms. [arXiv:1708.07747](https://arxiv.org/abs/1708.07747): the data, its classes and its licence.
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning applied to document recognition. Proceedings of the IEEE 86(11). [doi:10.1109/5.726791](https://doi.org/10.1109/5.726791): MNIST and its file format.
# - B. Barz, J. Denzler (2020). Do we train on test data? Purging CIFAR of near-duplicates. Journal of Imaging 6(6). [doi:10.3390/jimaging6060041](https://doi.org/10.3390/jimaging6060041): duplicates between training and test sets.
# - torchvision documentation, [transforms](https://docs.pytorch.org/vision/stable/transforms.html): `ToTensor` and the `v2` transforms.
