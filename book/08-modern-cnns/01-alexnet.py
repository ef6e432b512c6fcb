# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         num_gpus: 1
#       smoke:
#         max_epochs: 1
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
# # 8.1 AlexNet

# %%
import torch
from torch import nn
from torch.nn.parameter import is_lazy

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, layer_summary)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, scale_bytes)
from d2l_helpers.chapters.linear_regression import Trainer

# %% tags=["parameters"]
max_epochs = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
def scaled(channels, width):
    """`channels` times `width`, rounded to an integer of at least 1."""
    if not width > 0:
        raise ValueError(f"width is {width}; it must be positive.")
    return max(1, round(channels * width))

# %% tags=["export"]
class AlexNet(Classifier):
    """AlexNet in one column; returns scores (n, num_classes).

    The input is (n, channels, h, w) with h and w of at least 65; `width`
    multiplies the channels, `fc` is the width of the dense layers.
    """

    def __init__(self, lr=0.01, num_classes=10, width=1.0, fc=4096):
        super().__init__()
        self.save_hyperparameters()
        c1, c2, c3, c4, c5 = (scaled(c, width)
                              for c in (96, 256, 384, 384, 256))
        self.net = nn.Sequential(
            nn.LazyConv2d(c1, kernel_size=11, stride=4, padding=1),
            nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
            nn.LazyConv2d(c2, kernel_size=5, padding=2),
            nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
            nn.LazyConv2d(c3, kernel_size=3, padding=1), nn.ReLU(),
            nn.LazyConv2d(c4, kernel_size=3, padding=1), nn.ReLU(),
            nn.LazyConv2d(c5, kernel_size=3, padding=1), nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Flatten(),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(num_classes))

# %% tags=["export"]
def cost_table(net, X_shape):
    """What each part of an nn.Sequential gives and costs.

    `X_shape` is the shape of a batch, such as (1, 1, 224, 224). Returns
    rows (class name, output shape, parameters, multiply-accumulates), one
    for each entry of `net`, in order; what an entry contains is summed.
    Parameters that two entries share are listed with both. Leaves `net`
    as it found it, except that lazy layers get their shapes.
    """
    if not isinstance(net, nn.Sequential):
        raise TypeError("cost_table needs an nn.Sequential, got "
                        f"{type(net).__name__}; pass its attribute net.")
    rows, shape = [], X_shape
    for part, (kind, output) in zip(net, layer_summary(net, X_shape),
                                    strict=True):
        macs = sum(count_macs(part, shape).values())
        rows.append((kind, output, count_params(part), macs))
        shape = output
    return rows

# %% tags=["export"]
def augment_batch(X, generator=None, margin=0.125):
    """Images X (n, c, h, w), flipped at random and cropped with a shift.

    Each image is mirrored with probability 1/2 and moved by up to
    `margin` times its size along each axis; zeros fill the gap. Random
    numbers come from `generator`, a generator of the CPU, or from
    PyTorch's own. Returns a new tensor of the shape, type and device of
    X; the same generator gives the same images on every device.
    """
    if X.ndim != 4 or not 0 <= margin < 1:
        raise ValueError(f"images of shape {tuple(X.shape)} and margin "
                         f"{margin}: pass (n, c, h, w) and 0 <= margin < 1.")
    n, _, h, w = X.shape
    flip = torch.rand(n, generator=generator) < 0.5  # (n,)
    X = torch.where(flip.to(X.device)[:, None, None, None], X.flip(-1), X)
    py, px = int(margin * h), int(margin * w)
    top = torch.randint(0, 2 * py + 1, (n,), generator=generator)
    left = torch.randint(0, 2 * px + 1, (n,), generator=generator)
    padded = nn.functional.pad(X, (px, px, py, py))
    rows = (top[:, None] + torch.arange(h)).to(X.device)  # (n, h)
    columns = (left[:, None] + torch.arange(w)).to(X.device)  # (n, w)
    index = torch.arange(n, device=X.device)[:, None, None]
    crop = padded.permute(0, 2, 3, 1)[index, rows[:, :, None],
                                      columns[:, None, :]]  # (n, h, w, c)
    return crop.permute(0, 3, 1, 2)

# %% tags=["export"]
class AugmentedFashionMNIST(FashionMNIST):
    """Fashion-MNIST whose training batches pass through augment_batch.

    The validation batches stay as they are. The attribute `generator`,
    if it is set, orders the images and moves them.
    """

    def get_dataloader(self, train):
        if not train:
            return super().get_dataloader(train)
        generator = getattr(self, "generator", None)
        return d2l.BatchLoader(
            (self.train_images, self.y_train), self.batch_size,
            shuffle=True, generator=generator,
            transform=lambda X, y: (
                augment_batch(scale_bytes(X), generator), y))

# %% tags=["export"]
def fit_quietly(model, data, epochs, optimizer=None, seed=0, num_gpus=0):
    """Train with the book's Trainer, without a picture.

    `optimizer` is called with the parameters and returns an optimizer;
    without it the model's own is used. `seed` sets the order of the
    training images and PyTorch's global generator, from which dropout
    draws. Returns the history: a dict of lists with one mean per epoch,
    "train_loss", "val_loss", "val_acc". Afterwards the model has its own
    `configure_optimizers` and display again.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; it must be at least 1.")
    if any(is_lazy(p) for p in model.parameters()):
        raise ValueError("the model has lazy parameters; initialize it "
                         "with apply_init first.")
    display, own = model.board.display, vars(model).get(
        "configure_optimizers")  # set on this instance, rarely
    data.generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    trainer = Trainer(max_epochs=epochs, num_gpus=num_gpus)
    try:
        model.board.display = False
        if optimizer is not None:
            model.configure_optimizers = lambda: optimizer(
                model.parameters())
        trainer.fit(model, data)
    finally:
        model.board.display = display
        vars(model).pop("configure_optimizers", None)
        if own is not None:
            model.configure_optimizers = own
    return trainer.history

# %% tags=["hide-input"]
# check: the promises of scaled, cost_table and augment_batch
def refused(error, function, *args, **options):
    """Whether the call raises this kind of error."""
    try:
        function(*args, **options)
    except error:
        return True
    return False


assert [scaled(96, 0.25), scaled(3, 0.1), scaled(10, 1.26)] == [24, 1, 13]
assert refused(ValueError, scaled, 96, 0)
inner = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1))
relu = nn.ReLU()
parts = nn.Sequential(nn.LazyConv2d(4, 3), relu, nn.Dropout(0.9).eval(),
                      nn.BatchNorm2d(4), inner, relu, nn.Flatten(),
                      nn.LazyLinear(5, bias=False))
rows = cost_table(parts, (2, 1, 8, 8))  # 6 x 6 positions, two images
assert rows[0] == ("Conv2d", (2, 4, 6, 6), 40, 2 * 36 * 36)
assert rows[4] == ("Sequential", (2, 6, 6, 6), 20 + 30, 2 * 36 * (16 + 24))
assert rows[7] == ("Linear", (2, 5), 216 * 5, 2 * 216 * 5)
assert [row[0] for row in rows].count("ReLU") == 2 and len(rows) == 8
assert [p.training for p in parts][:4] == [True, True, False, True]
assert parts[3].num_batches_tracked == 0
assert refused(TypeError, cost_table, nn.Linear(3, 2), (1, 3))

count = 2000  # all images alike: the letter F, as floats and as bytes
letter = torch.zeros(1, 2, 16, 24)
letter[0, 0, 3:12, 9], letter[0, 0, 3, 9:15] = 1, 1
letter[0, 1, 7, 9:13] = 0.5
many = letter.repeat(count, 1, 1, 1)
moved = augment_batch(many, torch.Generator().manual_seed(1))
again = augment_batch(many, torch.Generator().manual_seed(1))
torch.rand(1)  # a step of the common generator changes nothing
assert torch.equal(moved, again) and moved.shape == many.shape
assert torch.equal(many, letter.expand(count, -1, -1, -1))  # untouched
wanted = {}  # what may come out: mirrored or not, and every shift
padded = nn.functional.pad(letter, (3, 3, 2, 2))
for flip in (False, True):
    source = nn.functional.pad(letter.flip(-1), (3, 3, 2, 2)) if (
        flip) else padded
    for i in range(5):
        for j in range(7):
            wanted[source[0, :, i:i + 16, j:j + 24].numpy().tobytes()] = (
                flip, i, j)
seen = [wanted[image.contiguous().numpy().tobytes()] for image in moved]
assert len(set(seen)) == len(wanted) == 70
assert abs(sum(flip for flip, _, _ in seen) / count - 0.5) < 0.05
data_type = augment_batch((255 * many[:9]).byte(),
                          torch.Generator().manual_seed(1))
assert data_type.dtype == torch.uint8
plain = augment_batch(many[:50], torch.Generator().manual_seed(2), margin=0)
assert all(torch.equal(image, letter[0]) or torch.equal(
    image, letter[0].flip(-1)) for image in plain)
torch.manual_seed(3)
first = augment_batch(many[:50])
assert not torch.equal(first, augment_batch(many[:50]))  # drawn anew
torch.manual_seed(3)
assert torch.equal(first, augment_batch(many[:50]))
assert refused(ValueError, augment_batch, letter[0])
assert refused(ValueError, augment_batch, letter, margin=1.0)

# %% tags=["hide-input"]
# check: the promises of AugmentedFashionMNIST and fit_quietly
class Tiny(Classifier):
    def __init__(self, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5),
                                 nn.LazyLinear(10))


few = AugmentedFashionMNIST(batch_size=32, train_size=100, val_size=70)
same = FashionMNIST(batch_size=32, train_size=100, val_size=70)
for source in (few, same):
    source.generator = torch.Generator().manual_seed(0)
(X, y), (X_plain, y_plain) = (next(iter(source.train_dataloader()))
                              for source in (few, same))
assert torch.equal(y, y_plain) and not torch.equal(X, X_plain)
few.generator.manual_seed(0)
X_again, y_again = next(iter(few.train_dataloader()))
assert torch.equal(X, X_again) and torch.equal(y, y_again)
assert 0 < X.max() <= 1  # floats
second = next(iter(few.train_dataloader()))
assert not torch.equal(y, second[1])  # shuffled anew
for batch, wanted_batch in zip(few.val_dataloader(), same.val_dataloader(),
                               strict=True):
    assert torch.equal(batch[0], wanted_batch[0])
    assert torch.equal(batch[1], wanted_batch[1])


def tiny(seed=0):
    torch.manual_seed(seed)
    return apply_init(Tiny(), same.X_train[:1])


runs = [fit_quietly(tiny(), same, 2, seed=seed) for seed in (0, 0, 1)]
assert runs[0] == runs[1] != runs[2]
assert {key: len(values) for key, values in runs[0].items()} == {
    "train_loss": 2, "val_loss": 2, "val_acc": 2}
model = tiny()
used = []


def slow_sgd(parameters):
    used.append(torch.optim.SGD(parameters, lr=0.0))
    return used[0]


before = [p.clone() for p in model.parameters()]
fit_quietly(model, same, 1, slow_sgd)
assert all(map(torch.equal, before, model.parameters()))  # rate 0
assert used[0].param_groups[0]["params"][0] is model.net[2].weight
assert model.board.display and model.configure_optimizers().defaults[
    "lr"] == 0.1  # both as they were
fit_quietly(model, same, 1)  # its own optimizer
assert not torch.equal(before[0], model.net[2].weight)
model.configure_optimizers = own = lambda: used[0]
fit_quietly(model, same, 1, lambda p: torch.optim.SGD(p, lr=0.1))
assert model.configure_optimizers is own
assert refused(ZeroDivisionError, fit_quietly, model, same, 1,
               lambda p: 1 / 0)
assert model.configure_optimizers is own and model.board.display
assert refused(ValueError, fit_quietly, model, same, 0)
assert refused(ValueError, fit_quietly, Tiny(), same, 1)
