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
    for each direct child, in order; what a child contains is summed. Leaves
    `net` as it found it, except that lazy layers get their shapes.
    """
    macs = count_macs(net, X_shape)  # name -> multiply-accumulates
    rows = []
    for (kind, shape), (name, part) in zip(
            layer_summary(net, X_shape), net.named_children(), strict=True):
        inside = sum(n for layer, n in macs.items()
                     if layer.split(".")[0] == name)
        rows.append((kind, shape, count_params(part), inside))
    return rows

# %% tags=["export"]
def augment_batch(X, generator=None, margin=0.125):
    """Images X (n, c, h, w), flipped at random and cropped with a shift.

    Each image is mirrored with probability 1/2 and moved by up to
    `margin` times its size along each axis; zeros fill the gap. Random
    numbers come from `generator`, a generator of the CPU, or from
    PyTorch's own. Returns a new tensor of the shape and device of X.
    """
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

    The validation batches stay as they are.
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
    without it the model's own is used. `seed` fixes the order of the
    training images and PyTorch's global generator, from which dropout
    draws. Returns the history: a dict of lists with one mean per epoch,
    "train_loss", "val_loss", "val_acc".
    """
    model.board.display = False
    if optimizer is not None:
        model.configure_optimizers = lambda: optimizer(model.parameters())
    data.generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    trainer = Trainer(max_epochs=epochs, num_gpus=num_gpus)
    trainer.fit(model, data)
    return trainer.history
