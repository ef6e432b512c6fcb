# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist, cats-dogs, efficientnet-lite0]
#     profiles:
#       gpu:
#         picture_size: 96
#         full_depth: true
#         train_size: 59000
#         val_size: 10000
#         batch_size: 128
#         max_epochs: 10
#         mega_macs: 100
#         kilo_params: 1000
#         tune: true
#         num_photos: 350
#         probe_steps: 300
#         num_gpus: 1
#       smoke:
#         train_size: 128
#         val_size: 64
#         num_photos: 40
#         probe_steps: 4
#     rehearsal:
#       train_size: 0.005
#       val_size: 0.01
#       batch_size: 0.25
#       max_epochs: 0.1
#       mega_macs: 0.03
#       kilo_params: 0.05
#       num_photos: 0.12
#       probe_steps: 0.02
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
# # 8.9 Comparing the architectures
#
# Eight sections, eight ideas: which network should you take?
# The question has no answer before it is said what is held equal.
# This section puts eight networks of the chapter into one table, trains small versions of seven under one recipe at equal operations and again at equal parameters, and then weighs architecture against two things that are not architecture: the training recipe, and weights that somebody else has trained.
#
# **You will**
#
# - compute parameters, operations, receptive field and depth of published networks without a byte of memory for their weights;
# - compare networks fairly, and see what a ranking is worth when the budget changes;
# - measure what a recipe and what pretraining contribute beside the architecture, with controls;
# - measure speed and the switches that change it, and check what they do to the results.
#
# **Cost**: less than a minute on a CPU; much longer in the profile `gpu`, which trains on all images; a download of 57 MB, once.

# %%
import copy
import math
import time
from contextlib import contextmanager
from functools import cache, partial
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, init_he, receptive_field)
from d2l_helpers.chapters.linear_classification import (
    FashionMNIST, fit_logits)
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.modern_cnns import (
    VGG, VGG11, VGG16, AlexNet, AnyNet, AugmentedFashionMNIST, Bottleneck,
    DenseNet, GoogLeNet, Inception, NiN, ResNet, ResNet18, densenet121,
    fit_quietly, scaled)
from d2l_helpers.pretrained import (
    EfficientNetLite0, cached_features, efficientnet_lite0)

d2l.use_style()

# %% tags=["parameters"]
picture_size = 32
full_depth = False  # True: the depths of the chapter's sections
train_size = 1536
val_size = 640
batch_size = 32
max_epochs = 1
mega_macs = 0.5  # million multiply-accumulates for an image
kilo_params = 20  # thousand parameters
tune = False  # True: choose the learning rates anew
num_photos = 190  # of each class
probe_steps = 40  # of small networks on few labels
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## The table
#
# Each network below is for three colours, 224 by 224 pixels and 1000 classes, at full width and in the form of this chapter: AlexNet in one column, NiN for large pictures, GoogLeNet without its auxiliary heads, and ResNet and ResNeXt as current libraries build them.
# The device `meta` keeps shapes and no numbers, so counting costs milliseconds ([Section 7.4](../07-convolutional-neural-networks/04-channels.ipynb)).

# %%
FIFTY = ((3, 256), (4, 512), (6, 1024), (3, 2048))
reference = {"num_classes": 1000, "reference": True}
published = {  # name: (first year, idea, how to make it)
    "AlexNet": (2012, "depth, ReLU, dropout", partial(
        AlexNet, num_classes=1000)),
    "NiN": (2013, "1x1, global pooling", partial(NiN, num_classes=1000)),
    "VGG-11": (2014, "blocks of 3x3", partial(
        VGG, VGG11, num_classes=1000)),
    "GoogLeNet": (2014, "parallel branches", partial(
        GoogLeNet, num_classes=1000)),
    "ResNet-18": (2015, "shortcuts", partial(ResNet18, **reference)),
    "ResNet-50": (2015, "and bottlenecks", partial(
        ResNet, FIFTY, block=Bottleneck, **reference)),
    "ResNeXt-50": (2016, "and groups", partial(
        ResNet, FIFTY, block=partial(Bottleneck, inner=0.5, groups=32),
        **reference)),
    "DenseNet-121": (2016, "concatenation", densenet121)}

# %%
def operations(model, shape=(1, 3, 224, 224)):
    """Multiply-accumulates in all; lazy layers get their shapes."""
    return sum(count_macs(model, shape).values())


nets, costs = {}, {}  # costs: parameters, multiply-accumulates
for name, (_, _, make) in published.items():
    with torch.device("meta"):
        nets[name] = make()
        macs = operations(nets[name])
    costs[name] = count_params(nets[name]), macs

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(6.0, 3.4))
below = {"NiN", "ResNet-18", "DenseNet-121", "GoogLeNet"}
for name, (year, _, _) in published.items():
    params, macs = costs[name]
    ax.scatter(year, params, s=60 * macs / 1e9, alpha=0.5,
               color="C1" if params > 4e7 else "C0")
    ax.annotate(name, (year, params), textcoords="offset points",
                xytext=(0, -17 if name in below else 13), ha="center",
                fontsize=8)
ax.set(yscale="log", xlabel="first publication", ylabel="parameters",
       ylim=(3e6, 4e8), xlim=(2011.4, 2016.8))
d2l.describe(ax, """Parameters on a logarithmic axis against the year, from
    2012 to 2016; the area of each disc is the number of operations. AlexNet
    and VGG-11 lie high, VGG-11 with the largest disc. NiN of 2013 and all
    networks after 2014 have between seven and twenty-six million parameters,
    with discs of medium size.""")

# %% [markdown]
# **Figure 8.9.1.** Parameters against the year of publication; areas are proportional to operations at 224 by 224.
# In orange the two networks with large dense heads.

# %% [markdown]
# Depth and receptive field belong to a *path* from input to output.
# We walk through the layers in the order of their calls, leave out the 1x1 convolutions on shortcuts, and take from parallel branches the one with the widest view.
# The last pooling over the whole map is not counted.

# %%
def path(net):
    """Layers on the path with the widest view, in the order of calls."""
    if isinstance(net, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.Linear)):
        return [net]
    if isinstance(net, Inception):
        return max(map(path, net.branches), key=lambda p: view(p)[0])
    return [layer for name, part in net.named_children()
            if name != "shortcut" for layer in path(part)]


def view(layers):
    """(size, jump, start) of what one output of these layers sees."""
    def first(value):
        return value[0] if isinstance(value, tuple) else value
    return receptive_field([
        (first(m.kernel_size), first(m.stride), first(m.padding))
        for m in layers if not isinstance(m, nn.Linear)])


def depth(net):
    """Layers with weights on that path."""
    return sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in path(net))

# %%
print(f"{'':13s}year  parameters  billion MACs  field  depth  idea")
for name, (year, idea, _) in published.items():
    costs[name] = (*costs[name][:2], view(path(nets[name]))[0],
                   depth(nets[name]))
    params, macs, size, layers = costs[name]
    print(f"{name:13s}{year} {params:11,d} {macs / 1e9:13.3f} {size:6d}"
          f" {layers:6d}  {idea}")

# %%
# check 8.9-C1: parameters, three colours and 1000 classes
assert {name: row[0] for name, row in costs.items()} == {
    "AlexNet": 50_844_008, "NiN": 7_439_608, "VGG-11": 132_863_336,
    "GoogLeNet": 6_998_552, "ResNet-18": 11_689_512,
    "ResNet-50": 25_557_032, "ResNeXt-50": 25_028_904,
    "DenseNet-121": 7_978_856}

# %%
# check 8.9-C2: billions of multiply-accumulates
assert [round(row[1] / 1e9, 3) for row in costs.values()] == [
    1.010, 0.966, 7.609, 1.583, 1.814, 4.089, 4.230, 2.834]

# %%
# check 8.9-C3: receptive fields, and the numbers in the names are depths
assert costs["AlexNet"][2] == 195 and costs["VGG-11"][2] == 150
assert costs["ResNet-18"][2] == 435
with torch.device("meta"):
    sixteen = VGG(VGG16, num_classes=1000)
    operations(sixteen)
assert view(path(sixteen))[0] == 212 and depth(sixteen) == 16
assert all(row[3] == int(name.split("-")[1])
           for name, row in costs.items() if "-" in name)
assert sum(row[2] > 224 for row in costs.values()) == 5
assert len({tuple(sorted(costs, key=lambda name: costs[name][i]))
            for i in range(4)}) == 4  # four orders
assert costs["AlexNet"][3] == 8 and costs["GoogLeNet"][3] == 22
toy = nn.Sequential(nn.LazyConv2d(2, 7, 2, 3), nn.MaxPool2d(3, 2, 1),
                    Inception(1, (1, 1), (1, 1), 1), nn.AvgPool2d(2))
assert view(path(toy))[:2] == (7 + 2 * 2 + 4 * 4 + 4, 8)

# %% [markdown]
# Four columns of numbers, four orders.
# NiN has a seventh of AlexNet's parameters at nearly the same number of operations, DenseNet-121 less than a third of ResNet-50's parameters at more than two thirds of its operations.
# So "half the size" is no statement until somebody says half of what.
# The receptive fields of the last five rows exceed the picture; the field says what an output *can* see, not how much each pixel counts.
#
# What the table lacks is accuracy.
# The published numbers belong to different recipes, years, crops and ensembles ([Section 8.0](00-overview.md)), so we train.

# %% [markdown]
# ## One recipe for all
#
# A laptop cannot train these networks on ImageNet.
# We take the first images of Fashion-MNIST at 32 by 32 pixels and shrink the networks twice.
# In depth: VGG, ResNet and DenseNet keep three stages (in ResNet a block each, in DenseNet two layers), RegNetX its two stages, with one block and two blocks, GoogLeNet its stem and the first two of nine Inception blocks.
# AlexNet and NiN keep their layers; they need larger pictures, NiN 67 pixels at least, and enlarge theirs first.
# In width: a function looks for the `width` at which a network costs what we want.

# %%
def short_google(width):
    """GoogLeNet, or its stem and first two Inception blocks."""
    model = GoogLeNet(width=width, norm=True)
    if not full_depth:
        model.net = nn.Sequential(*model.net[:3], nn.AdaptiveAvgPool2d(1),
                                  nn.Flatten(), nn.LazyLinear(10))
    return model


def regnet(width):
    """RegNetX in groups of 8 channels: full stages of 4 and 6 blocks."""
    c1, c2 = 8 * scaled(4, width), 8 * scaled(10, width)
    d1, d2 = (4, 6) if full_depth else (1, 2)
    return AnyNet(((d1, c1, 8, 1), (d2, c2, 8, 1)), c1)


EIGHTEEN = ((2, 64), (2, 128), (2, 256), (2, 512))
EIGHT = ((1, 64), (1, 128), (1, 256))
small = {
    "AlexNet": lambda w: AlexNet(width=w, fc=scaled(4096, w)),
    "VGG": lambda w: VGG(VGG11 if full_depth else VGG11[:3], width=w,
                         fc=scaled(4096, w)),
    "NiN": lambda w: NiN(width=w),
    "GoogLeNet": short_google,
    "ResNet": lambda w: ResNet(EIGHTEEN if full_depth else EIGHT, width=w),
    "DenseNet": lambda w: DenseNet(
        arch=(4,) * 4 if full_depth else (2,) * 3, width=w),
    "RegNetX": regnet}

# %% [markdown]
# Cost grows with the width, so halving an interval finds it, on `meta` for nothing.

# %%
def width_for(maker, target, cost, low=0.02, high=1.0, steps=9):
    """The width at which cost(maker(width)) is closest to `target`.

    `cost` takes a model on the device "meta" and must not fall when the
    width grows. Raises ValueError if `target` is not reached in between.
    """
    @cache
    def at(width):
        with torch.device("meta"):
            return cost(maker(width))

    if not at(low) <= target <= at(high):
        raise ValueError(f"a cost of {target:,.0f} is not between the "
                         f"{at(low):,} at width {low} and the {at(high):,} "
                         f"at width {high}.")
    for _ in range(steps):
        middle = math.sqrt(low * high)
        low, high = ((middle, high) if at(middle) < target
                     else (low, middle))
    return min((low, high), key=lambda width: abs(at(width) - target))

# %% tags=["hide-input"]
# check: the closest of both ends, rounding included; a target out of reach
steps_of_8 = partial(width_for, lambda w: 8 * round(10 * w), cost=int,
                     high=2.0)
assert steps_of_8(42) == steps_of_8(41) and 0.45 < steps_of_8(41) < 0.55
assert steps_of_8(45) > 0.549  # 48 is closer than 40
assert steps_of_8(0) == 0.02 and steps_of_8(160) > 1.9  # ends count
try:
    steps_of_8(1000)
    raise AssertionError("a target beyond the largest width was accepted")
except ValueError as error:
    assert "160" in str(error)

# %% [markdown]
# All networks then get the same conditions.
# The pixels are standardized.
# All networks have batch normalization; AlexNet, VGG, NiN and GoogLeNet, which were published without it, get it between each convolution and its ReLU: otherwise four of seven arms would differ from the rest in more than their architecture.
# Dropout is off, since a run has only 48 steps (the profile `gpu` keeps it as published).
# All start from He's initialization and train with AdamW (Section 12.10), a learning rate that rises to a peak and falls again, and batches of 32.

# %%
data = FashionMNIST(batch_size, resize=(picture_size,) * 2,
                    train_size=train_size, val_size=val_size)
real = data.source == "real"
full_run = train_size >= 1536 and probe_steps >= 40  # not smoke
shape = (1, 1, picture_size, picture_size)
mean, std = data.X_train.mean().item(), data.X_train.std().item()


class Standardize(nn.Module):
    def forward(self, X):
        return (X - mean) / std


def normalize(net):
    """Batch normalization between each convolution and its ReLU."""
    parts = list(net)
    for i, part in enumerate(parts[:-1]):
        if isinstance(part, nn.Sequential):
            normalize(part)
        elif (isinstance(part, nn.Conv2d)
              and isinstance(parts[i + 1], nn.ReLU)):
            net[i] = nn.Sequential(part, nn.LazyBatchNorm2d())

# %%
def prepare(model):
    """The same conditions for all networks of the comparison."""
    if isinstance(model, (AlexNet, VGG, NiN)):
        normalize(model.net)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout) and max_epochs < 5:
            layer.p = 0.0
    front = [Standardize()]
    if isinstance(model, (AlexNet, NiN)) and picture_size < 67:
        front.insert(0, nn.Upsample(size=(72, 72)))
    model.net = nn.Sequential(*front, *model.net)
    return model


def one_cycle(lr, steps):
    """For fit_quietly: AdamW with one cycle of the learning rate."""
    def make(params):
        optimizer = torch.optim.AdamW(params, lr=lr, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, lr, total_steps=steps + 1)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return optimizer
    return make


def recipe(lr, epochs=max_epochs):
    """One cycle over `epochs` of the training images."""
    return one_cycle(lr, epochs * math.ceil(train_size / batch_size))

# %% tags=["hide-input"]
# check: what the conditions promise
pixels = Standardize()(data.X_train)
assert abs(pixels.mean()) < 1e-3 and abs(pixels.std() - 1) < 1e-3
for name, norms in (("AlexNet", 5), ("NiN", 11), ("VGG", None),
                    ("GoogLeNet", None)):
    model = prepare(small[name](0.1))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert (norms or len(convs)) == sum(isinstance(
        m, (nn.BatchNorm2d, nn.LazyBatchNorm2d)) for m in model.modules())
    assert max_epochs >= 5 or not any(
        m.p for m in model.modules() if isinstance(m, nn.Dropout))
weight = nn.Parameter(torch.zeros(1))
optimizer, seen = recipe(0.5, 2)([weight]), []
for _ in range(2 * math.ceil(train_size / batch_size)):
    seen.append(optimizer.param_groups[0]["lr"])
    weight.grad = torch.ones(1)
    optimizer.step()
peak = seen.index(max(seen))
assert seen == sorted(seen[:peak]) + sorted(seen[peak:], reverse=True)
if len(seen) > 40:  # enough steps to come near both ends
    assert math.isclose(max(seen), 0.5, rel_tol=0.05)
    assert 0 < peak < len(seen) / 2 and seen[-1] < 0.05 * max(seen)

# %% [markdown]
# The peak rate is each network's own in each condition, the best of 0.003, 0.01, 0.03 and 0.1 by the mean accuracy of two other seeds on 640 images that were held out of the training part.
# That search took 112 trainings, and its result stands below; with `tune = True` it runs again.
# NiN took the largest rate, AlexNet and VGG at equal operations the smallest, so a wider grid might help these three.

# %%
rates = {
    "operations": {
        "AlexNet": 3e-3, "VGG": 3e-3, "NiN": 1e-1, "GoogLeNet": 3e-2,
        "ResNet": 1e-2, "DenseNet": 3e-2, "RegNetX": 3e-2},
    "parameters": {
        "AlexNet": 3e-2, "VGG": 1e-2, "NiN": 1e-1, "GoogLeNet": 3e-2,
        "ResNet": 3e-2, "DenseNet": 1e-2, "RegNetX": 3e-2}}

# %%
def compare(models, shape, data, optimizers, epochs=1, seeds=(0, 1, 2),
            num_gpus=0):
    """Train every network once for each seed; a table of cost and success.

    `models` maps names to functions that make a classifier, `optimizers`
    the same names to what `fit_quietly` wants; `shape` is one input, such
    as (1, 1, 32, 32). The weights are He's, follow the seed, and are stored
    with the channels last, which changes speed and rounding. Returns
    {name: {"params": int, "macs": int, "val_acc": [one for each seed]}}.
    """
    table = {}
    for name, make in models.items():
        accuracies = []
        for seed in seeds:
            torch.manual_seed(seed)
            model = apply_init(make(), data.X_train[:1], init_he)
            model = model.to(memory_format=torch.channels_last)
            history = fit_quietly(model, data, epochs, optimizers[name],
                                  seed, num_gpus)
            accuracies.append(history["val_acc"][-1])
        macs = sum(count_macs(model, shape).values())
        table[name] = {"params": count_params(model), "macs": macs,
                       "val_acc": accuracies}
    return table

# %%
def operations_here(model):
    return operations(prepare(model), shape)


def parameters_here(model):
    operations_here(model)  # gives the lazy layers their shapes
    return count_params(model)


def at_cost(target, cost):
    """Functions that make each network at the wanted cost."""
    high = 4.0 if full_depth else 1.0  # the widest that may be needed
    widths = {name: width_for(maker, target, cost, high=high)
              for name, maker in small.items()}
    return {name: lambda name=name: prepare(small[name](widths[name]))
            for name in small}


equal = {"operations": at_cost(mega_macs * 1e6, operations_here),
         "parameters": at_cost(kilo_params * 1e3, parameters_here)}
if tune:
    held = FashionMNIST(batch_size, resize=(picture_size,) * 2,
                        train_size=train_size, val_size=640, holdout=640)
    for what, models in equal.items():
        found = {lr: compare(models, shape, held, dict.fromkeys(
            models, recipe(lr)), max_epochs, (3, 4), num_gpus)
            for lr in (3e-3, 1e-2, 3e-2, 1e-1)}
        rates[what] = {name: max(found, key=lambda lr: sum(
            found[lr][name]["val_acc"])) for name in models}
        print(f"equal {what}, best rates:", rates[what])

# %% tags=["rtol=0.1"]
optimizers = {what: {name: recipe(lr) for name, lr in mine.items()}
              for what, mine in rates.items()}
results = {}
for what, models in equal.items():
    results[what] = compare(models, shape, data, optimizers[what],
                            max_epochs, num_gpus=num_gpus)
    print(f"equal {what}: params, MACs, accuracy of three seeds")
    for name, row in results[what].items():
        print(f"{name:10s}{row['params']:8,d} {row['macs']:9,d} ",
              " ".join(f"{a:.2f}" for a in row["val_acc"]))

# %% tags=["hide-input"]
# check: the costs are as equal as the widths allow; runs can be repeated
for what, key, target in (("operations", "macs", mega_macs * 1e6),
                          ("parameters", "params", kilo_params * 1e3)):
    for name, row in results[what].items():
        slack = 0.2 if name == "RegNetX" else 0.06  # it has steps of 8
        assert abs(row[key] / target - 1) < slack or not full_run, name
        assert len(row["val_acc"]) == 3
again = compare({"VGG": equal["parameters"]["VGG"]}, shape, data,
                optimizers["parameters"], max_epochs, (1,),
                num_gpus)["VGG"]
assert num_gpus or math.isclose(
    again["val_acc"][0], results["parameters"]["VGG"]["val_acc"][1],
    abs_tol=0.01)
assert len(set(results["parameters"]["VGG"]["val_acc"])) > 1 or not full_run
tiny = FashionMNIST(batch_size, resize=(picture_size,) * 2, train_size=32,
                    val_size=256)
still = {"VGG": lambda params: torch.optim.SGD(params, lr=0.0)}
starts = [compare({"VGG": equal["parameters"]["VGG"]}, shape, tiny, still,
                  1, (seed,), num_gpus)["VGG"]["val_acc"][0]
          for seed in (0, 1, 2, 0)]  # nothing is learned
assert starts[0] == starts[3] and len(set(starts)) > 1

# %% tags=["hide-input", "rtol=0.1"]
_, axes = plt.subplots(1, 2, figsize=(6.6, 2.9), sharey=True, sharex=True)
for ax, (what, table) in zip(axes, results.items()):
    for row, name in enumerate(reversed(table)):
        scores = table[name]["val_acc"]
        ax.plot(scores, [row] * len(scores), "o", ms=5, alpha=0.7,
                color="C0")
    ax.set(title=f"equal {what}", xlabel="validation accuracy",
           xlim=(0, 1))
axes[0].set_yticks(range(len(small)), labels=list(reversed(small)))
d2l.describe(axes, """Two panels with seven networks in rows and three dots
    in each row, one for each seed. In both, VGG, GoogLeNet, ResNet, DenseNet
    and RegNetX overlap near 0.7, and NiN lies lowest, near 0.5. AlexNet is at
    0.65 at equal operations and about 0.56 at equal parameters.""")

# %% [markdown]
# **Figure 8.9.2.** Accuracy of three seeds after one pass over the images, all networks under one recipe.
#
# The dots of different networks overlap, so which differences are larger than chance?
# Chance enters with the choice of the 640 validation images: by it alone, an accuracy near 0.7 has a standard error of about 0.02.
# It enters with the seed, and with less: we multiply the pixels of one network by 1.000001, keep the seeds, and train again.
# The pixels change by a millionth, a few units of rounding, and 48 steps enlarge the difference.

# %% tags=["chaotic", "rtol=0.9"]
class Nudge(nn.Module):
    def forward(self, X):
        return X * 1.000001


def nudged():
    """GoogLeNet of equal operations, with pixels changed by a millionth."""
    model = equal["operations"]["GoogLeNet"]()
    model.net.insert(0, Nudge())
    return model


def average(table):
    """The mean accuracy of each network over its seeds."""
    return {name: sum(row["val_acc"]) / len(row["val_acc"])
            for name, row in table.items()}


twin = compare({"GoogLeNet": nudged}, shape, data, optimizers["operations"],
               max_epochs, num_gpus=num_gpus)["GoogLeNet"]["val_acc"]
print("the same seeds, pixels times 1.000001:", " ".join(
    f"{b - a:+.3f}" for a, b in zip(
        results["operations"]["GoogLeNet"]["val_acc"], twin)))
means = {what: average(table) for what, table in results.items()}
for what, mean_of in means.items():
    print(f"equal {what}, best first:", ", ".join(
        f"{name} {mean_of[name]:.2f}"
        for name in sorted(mean_of, key=mean_of.get, reverse=True)))

# %% tags=["hide-input"]
assert average({"a": {"val_acc": [1.0, 0.5]}}) == {"a": 0.75}
some = data.X_train[:8]
assert not torch.equal(Nudge()(some), some)
torch.testing.assert_close(Nudge()(some), some, rtol=2e-6, atol=0)
if full_run and real and not num_gpus:
    for mean_of in means.values():
        five = [mean_of[name] for name in small
                if name not in ("AlexNet", "NiN")]
        assert max(five) - min(five) < 0.12
        assert mean_of["NiN"] < min(five) - 0.08
        assert mean_of["NiN"] > 0.25  # it learns
        assert mean_of["AlexNet"] < mean_of["ResNet"] - 0.03
    change = {name: means["operations"][name] - means["parameters"][name]
              for name in small}
    assert change["AlexNet"] > 0.02 and abs(change["VGG"]) < 0.07
    rows = results["parameters"]
    assert 3 < rows["GoogLeNet"]["macs"] / rows["AlexNet"]["macs"] < 5
    assert 7 * rows["VGG"]["macs"] < results["operations"]["VGG"]["macs"]
    assert 7 * rows["VGG"]["params"] < results[
        "operations"]["VGG"]["params"]

# %% tags=["hide-input", "rtol=0.1"]
_, axes = plt.subplots(1, 2, figsize=(6.6, 3.0), sharey=True)
for (what, table), marker in zip(results.items(), "os"):
    for i, (name, row) in enumerate(table.items()):
        score = sum(row["val_acc"]) / len(row["val_acc"])
        for ax, x, size in ((axes[0], row["macs"], row["params"]),
                            (axes[1], row["params"], row["macs"] / 6)):
            ax.scatter(x, score, s=8 + size / 1000, marker=marker,
                       alpha=0.5, color=f"C{i}", label=name
                       if what == "operations" else None)
axes[0].set(ylabel="mean accuracy", ylim=(0, 1))
for ax, title, unit in zip(axes, (
        "multiply-accumulates of an image", "parameters"), (1e5, 1e4)):
    ax.set(xscale="log", xlabel=title)
    ax.minorticks_off()
    ticks = [n * unit for n in (1, 2, 5, 10)]
    ax.set_xticks(ticks, labels=[f"{n:,.0f}" for n in ticks], fontsize=8)
axes[1].legend(fontsize=7, loc="lower right", markerscale=0.5)
d2l.describe(axes, """Mean accuracy against multiply-accumulates, left, and
    against parameters, right, both on logarithmic axes. Seven discs with
    equal operations stand in a column on the left and seven squares with
    equal parameters in a column on the right. A network with more of either
    is not in general higher.""")

# %% [markdown]
# **Figure 8.9.3.** All networks of both conditions, discs at equal operations, squares at equal parameters; a larger mark has more of the quantity that is *not* on the axis.
#
# What stays in both conditions, on these images after 48 steps and on the mean of three seeds: NiN learns, but is clearly behind VGG, GoogLeNet, ResNet, DenseNet and RegNetX, and AlexNet is behind ResNet.
# What changes: AlexNet loses several hundredths at equal parameters.
# It keeps most of its parameters in dense layers that do little work, so equal parameters leave it about a quarter of GoogLeNet's operations; VGG has fewer still and loses next to nothing, so operations alone do not explain the loss.
# (RegNetX comes in steps of 8 channels and is the same network in both.)
# Three seeds do not settle the order of the other five: their means lie within a few hundredths, and a change of one millionth can move a single run by as much.
# (At equal operations the three dots of ResNet lie above those of GoogLeNet, DenseNet and RegNetX; but with three against three the p-value of a permutation test ([Section 8.8](08-cnn-design.ipynb)) cannot be less than $2/20$, and we picked these pairs after looking.)
#
# VGG gives a hint why.
# At equal parameters it has less than a seventh of the operations *and* of the parameters that it has at equal operations, and its accuracy is about the same.
# So for VGG the cost that we held equal does not seem to limit the accuracy at this budget (its rate at equal operations lies at the end of the grid, so the larger one may be tuned worse); where more cost buys little, a comparison at equal cost decides little.
# In the profile `gpu` each network has the depth of its section in this chapter and sees several hundred times as many images; its ranking need not be this one.

# %% [markdown]
# ## Recipe against architecture
#
# Now the architecture stays and the recipe changes.
# The ResNet of equal parameters makes three passes over the images under two recipes.
# *Plain*: SGD with momentum 0.9 at a constant rate, the best of 0.01, 0.03 and 0.1 on held-out images.
# *Full*: AdamW with one cycle of the rate, whose peak is that of the comparison, and *label smoothing*, which asks for probability 0.91 instead of 1 for the right class and 0.01 for each other one.

# %% tags=["rtol=0.1"]
def smoothed(make):
    """The same network with label smoothing in its training loss."""
    def smooth():
        model = make()
        model.loss = partial(F.cross_entropy, label_smoothing=0.1)
        return model
    return smooth


def recipe_scores(make, optimizer, data):
    """Accuracies of three seeds after `recipe_epochs` epochs."""
    table = compare({"ResNet": make}, shape, data, {"ResNet": optimizer},
                    recipe_epochs, num_gpus=num_gpus)
    return table["ResNet"]["val_acc"]


recipe_epochs = 3 * max_epochs
resnet = equal["parameters"]["ResNet"]
cycle = recipe(rates["parameters"]["ResNet"], recipe_epochs)
by_recipe = {
    "plain": recipe_scores(resnet, lambda p: torch.optim.SGD(
        p, lr=0.03, momentum=0.9), data),
    "full": recipe_scores(smoothed(resnet), cycle, data)}
if recipe_epochs >= 12:  # flips and shifts need a longer run
    shifted = AugmentedFashionMNIST(
        batch_size, resize=(picture_size,) * 2, train_size=train_size,
        val_size=val_size)
    by_recipe["full, augmented"] = recipe_scores(smoothed(resnet), cycle,
                                                 shifted)
for name, scores in by_recipe.items():
    print(f"{name:16s}", " ".join(f"{a:.2f}" for a in scores))

# %% tags=["hide-input"]
# check: what smoothing asks for; the network is left as it was
scores, right = torch.tensor([[0.0, 1.0, 3.0] + 7 * [0.0]]), torch.tensor([2])
wanted = torch.full((1, 10), 0.01)
wanted[0, 2] = 0.91
torch.testing.assert_close(smoothed(resnet)().loss(scores, right),
                           F.cross_entropy(scores, wanted))
torch.testing.assert_close(resnet().loss(scores, right),
                           F.cross_entropy(scores, right))

# %% tags=["chaotic", "rtol=0.9"]
gain = (sum(by_recipe["full"]) - sum(by_recipe["plain"])) / 3
several = [means["parameters"][name] for name in (
    "VGG", "GoogLeNet", "ResNet", "DenseNet", "RegNetX")]
print(f"gain by the recipe {gain:.2f}; from the worst to the best of five "
      f"architectures {max(several) - min(several):.2f}")
if full_run and real and not num_gpus:
    assert 0.01 < gain < 0.1 and max(several) - min(several) < 0.12

# %% [markdown]
# The gain is a few hundredths, and so are the differences among five architectures at equal parameters (which had a third of the steps).
# A paper that changes both at once cannot say which of them it was.
# Exercise 8.9-4 splits the gain into its parts.
# Flips and shifts ([Section 8.1](01-alexnet.ipynb)) belong to most modern recipes, but three passes are too few to judge them.
# The profile `gpu` adds them.

# %% [markdown]
# ## Pretraining against architecture
#
# EfficientNet-Lite0 comes from the line of MobileNet: inverted bottlenecks with depthwise convolutions ([Section 7.4](../07-convolutional-neural-networks/04-channels.ipynb)), found by a search and trimmed for phones.
# Its authors trained it on ImageNet, 1.28 million photographs.
# We freeze it, cut off the last layer, take the 1280 numbers before it as *features*, and fit a softmax regression on them: a *linear probe*.
#
# How much of its success is the architecture, how much the weights?
# Three controls tell: the *same architecture with random weights*, probed in the same way; a probe on the pixels; and a small residual network trained from scratch.
# The task is cats against dogs, with few labels.

# %%
def read_photo(path, size=96):
    """A photograph as bytes (3, size, size)."""
    image = Image.open(path)
    image.draft("RGB", (size, size))  # decodes no more than it must
    image = image.convert("RGB").resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


found = d2l.fetch("cats-dogs")
X, y = [], []
for label, kind in enumerate(("cat", "dog")):
    paths = [path for name, path in found.files.items() if f"/{kind}/"
             in name][:num_photos]
    X += [read_photo(path) for path in paths]
    y += [label] * len(paths)
mixed = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
photos, kinds = torch.stack(X)[mixed], torch.tensor(y)[mixed]
real_photos = real and found.is_real and d2l.fetch(
    "efficientnet-lite0").is_real
d2l.show_images(photos[:8], 1, 8, scale=0.9,
                titles=[("cat", "dog")[k] for k in kinds[:8]])
d2l.describe(plt.gcf(), """Eight photographs of cats and dogs in a row, each
    with its label above it.""")

# %% [markdown]
# **Figure 8.9.4.** Photographs at 96 by 96 pixels; the network was made for 224.
#
# Random weights need one preparation: in evaluation mode batch normalization uses running means and variances, and those of a new network are 0 and 1, whatever its activations.
# One pass over 32 photographs in training mode measures them.

# %%
def untrained(images, seed=0):
    """EfficientNet-Lite0 with random weights and fitting statistics."""
    torch.manual_seed(seed)
    net = EfficientNetLite0().apply(init_he)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    ours = [(m, m.momentum) for m in norms]
    for m in norms:
        m.momentum = 1.0  # this batch alone
    with torch.no_grad():
        net.train().embed(images)
    for m, momentum in ours:
        m.momentum = momentum
    return net.eval()


pretrained = efficientnet_lite0()
with torch.no_grad():
    assert pretrained.embed(photos[:2]).shape == (2, 1280)
random_net = untrained(photos[:32])
inputs = {"pretrained": cached_features(pretrained, "embed", photos)[0],
          "random weights": cached_features(
              random_net, "embed", photos)[0],
          "pixels": F.avg_pool2d(photos / 255, 2)}  # 48 x 48

# %% tags=["hide-input"]
# check: the statistics are those of the 32 photographs; modes and momenta
norm = next(m for m in random_net.modules()
            if isinstance(m, nn.BatchNorm2d))
arrived = []
hook = norm.register_forward_hook(
    lambda layer, inputs, output: arrived.append(inputs[0]))
with torch.no_grad():
    random_net.embed(photos[:32])
hook.remove()
torch.testing.assert_close(norm.running_mean, arrived[0].mean((0, 2, 3)),
                           rtol=1e-3, atol=1e-4)
assert not norm.training and norm.momentum != 1.0

# %% [markdown]
# The probe standardizes the features by its few training pictures.
# The network from scratch gets 40 steps of 32 pictures, whatever the number of labels; as a data set of the book's `Trainer`, the few are repeated until an epoch has that many.

# %%
def probe(features, labels, train, test, ridge=1e-3):
    """Test accuracy of a softmax regression on features (n, ...)."""
    Z = features.flatten(1).float()
    Z = (Z - Z[train].mean(0)) / (Z[train].std(0) + 1e-6)
    Z = Z / Z.shape[1] ** 0.5  # vectors of length about 1
    W, b = fit_logits(Z[train], labels[train], int(labels.max()) + 1,
                      ridge=ridge, steps=30)
    hits = (Z[test] @ W + b).argmax(1) == labels[test]
    return hits.float().mean().item()


class FewLabels(DataModule):
    """Few pictures, repeated so that an epoch has `steps` batches."""

    def __init__(self, X, y, train, val, steps, batch_size=32):
        super().__init__()
        self.batch_size, n = batch_size, steps * batch_size
        index = train.repeat(math.ceil(n / len(train)))[:n]
        self.parts = {True: (X[index], y[index]), False: (X[val], y[val])}

    def get_dataloader(self, train):
        return d2l.BatchLoader(self.parts[train], self.batch_size,
                               shuffle=train, generator=self.generator)

# %%
def from_scratch(X, y, train, test, seed):
    """Test accuracy of a residual network of 8 layers, width 1/4."""
    few = FewLabels(X, y, train, test, probe_steps)
    optimizer = one_cycle(5e-3, probe_steps)
    torch.manual_seed(seed)
    model = apply_init(ResNet(EIGHT, width=0.25,
                              num_classes=int(y.max()) + 1), X[:1], init_he)
    return fit_quietly(model, few, 1, optimizer, seed,
                       num_gpus)["val_acc"][-1]

# %%
def draw_labels(y, k, pool, seed):
    """Indices of k examples of each class from `pool`, or all there are."""
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for label in y.unique():
        mine = pool[y[pool] == label]
        parts.append(mine[torch.randperm(len(mine), generator=rng)[:k]])
    return torch.cat(parts)


def label_curves(inputs, y, numbers, pool, test):
    """{method: {labels a class: accuracies of three draws}}."""
    curves = {name: {} for name in (*inputs, "from scratch")}
    for k in numbers:
        draws = [draw_labels(y, k, pool, seed) for seed in range(3)]
        for name, features in inputs.items():
            curves[name][k] = [probe(features, y, train, test)
                               for train in draws]
        curves["from scratch"][k] = [
            from_scratch(inputs["pixels"], y, train, test, seed)
            for seed, train in enumerate(draws)]
    return curves

# %% [markdown]
# And the same on Fashion-MNIST, whose gray garments look like nothing in ImageNet: 64 by 64 pixels, the gray channel three times.

# %% tags=["rtol=0.15"]
half = len(kinds) // 2
on_photos = label_curves(inputs, kinds, (5, 15, 50), torch.arange(half),
                         torch.arange(half, len(kinds)))
n = max(20, num_photos * 5 // 4)
large = FashionMNIST(resize=(64, 64), train_size=n, val_size=n)
garments = torch.cat([large.X_train, large.X_val])
labels = torch.cat([large.y_train, large.y_val])
features = cached_features(pretrained, "embed",
                           garments.expand(-1, 3, -1, -1))[0]
on_fashion = label_curves(
    {"pretrained": features, "pixels": F.avg_pool2d(garments, 2)}, labels,
    (5, 20), torch.arange(n), torch.arange(n, 2 * n))
for what, curves in (("cats and dogs", on_photos), ("Fashion", on_fashion)):
    for name, curve in curves.items():
        print(f"{what:14s}{name:15s}", "; ".join(
            f"{k}: " + " ".join(f"{a:.2f}" for a in accuracies)
            for k, accuracies in curve.items()))

# %% tags=["hide-input", "rtol=0.15"]
_, axes = plt.subplots(1, 2, figsize=(6.6, 3.0), sharey=True)
styles = {"pretrained": ("C0", "o"), "random weights": ("C3", "v"),
          "pixels": ("C2", "s"), "from scratch": ("C1", "^")}
for ax, curves, title in ((axes[0], on_photos, "cats and dogs"),
                          (axes[1], on_fashion, "Fashion-MNIST")):
    for i, (name, curve) in enumerate(curves.items()):
        color, marker = styles[name]
        for k, accuracies in curve.items():
            ax.plot([k * 1.06 ** (i - 1.5)] * 3, accuracies, marker,
                    color=color, ms=4, alpha=0.8,
                    label=name if k == 5 else None)
    ax.set(xscale="log", xlabel="labels a class", title=title, ylim=(0, 1))
    ax.minorticks_off()
    numbers = list(curves["pixels"])
    ax.set_xticks(numbers, labels=numbers)
    ax.axhline(0.5 if ax is axes[0] else 0.1, color="#888888", lw=0.8)
axes[0].set_ylabel("test accuracy")
axes[0].legend(fontsize=7, loc="lower right")
d2l.describe(axes, """Test accuracy against the number of labels of each
    class, three dots for each method. Left, cats and dogs: the probe on the
    pretrained network lies a little above 0.7 with five labels and near 0.9
    with fifty; random weights, pixels and the network from scratch stay
    between 0.45 and 0.65. Right, Fashion-MNIST: all methods lie together,
    near 0.66 with five labels and 0.74 with twenty.""")

# %%
if full_run and real_photos and not num_gpus:
    means = {name: {k: sum(scores) / 3 for k, scores in curve.items()}
             for name, curve in on_photos.items()}
    probes = means.pop("pretrained")
    others = {k: max(curve[k] for curve in means.values())
              for k in (5, 15, 50)}
    assert probes[15] > max(others.values()) + 0.1 and probes[50] > 0.8
    assert probes[5] > others[5] + 0.06 and max(others.values()) < 0.68
    for k in (5, 20):
        trio = [sum(curve[k]) / 3 for curve in on_fashion.values()]
        assert max(trio) - min(trio) < 0.12
# the draws: k of each class, from the pool alone, another for each seed
drawn = [draw_labels(labels, 3, torch.arange(n), seed) for seed in (0, 1)]
assert drawn[0].max() < n and not torch.equal(*drawn)
assert torch.bincount(labels[drawn[0]], minlength=10).max() <= 3
few = FewLabels(photos, kinds, torch.tensor([3, 5]), torch.arange(4), 6, 4)
few.generator = torch.Generator().manual_seed(0)
batches = list(few.get_dataloader(train=True))
assert len(batches) == 6 and len(batches[0][1]) == 4
assert sum(b[1].sum() for b in batches) == 12 * kinds[[3, 5]].sum()

# %% [markdown]
# **Figure 8.9.5.** Accuracy against the number of labels, three draws each; the gray line is guessing. The probe on the pixels and the network from scratch get every picture at half the side.
# (The draws of twenty garments of a kind share most of their pictures, for there are only 19 to 29 of a kind to draw from; fresh pictures would scatter more.)
#
# On photographs the pretrained features lead with five labels already; with fifteen labels of each kind their mean accuracy is above everything else with fifty.
# The network from scratch does hardly better than guessing in its 40 steps; what a longer run would bring was not measured.
# The same architecture with random weights (one draw) is near guessing as well, so in this experiment the architecture alone does not give the lead: it takes the weights.
# It is a friendly case: ImageNet's classes include some 120 breeds of dogs and a few of cats, so these features were paid for with the labels of very similar pictures.
# On Fashion-MNIST nothing of the lead is left: a linear classifier of the raw pixels does about as well as one of the features.
# Between these two lies the practice; [Section 14.2](../14-computer-vision/02-fine-tuning.ipynb) also fine-tunes, which moves the features.

# %% [markdown]
# ## Speed, and three switches
#
# Operations are not seconds.
# A small tool evaluates a model under the *switches* of today's PyTorch.
# `channels_last` stores the channels of a pixel side by side.
# Autocast computes convolutions and matrix products in bfloat16, 16 bits with the range of float32 and 8 bits of precision.
# The third, `torch.compile`, translates a model into fused kernels; it needs a compiler for that, so we leave it to Section 13.1.

# %%
@contextmanager
def switched(model, channels_last=False, dtype=None):
    """A function that evaluates `model` under modern switches.

    Use: `with switched(net, channels_last=True) as forward: forward(X)`.
    `dtype`, such as torch.bfloat16, computes under autocast. A model whose
    memory format has to change is copied; the caller's model and tensors
    keep format, type and mode, and no gradient is recorded.
    """
    order = (torch.channels_last if channels_last
             else torch.contiguous_format)
    net = copy.deepcopy(model).to(
        memory_format=order) if channels_last else model
    modes = {module: module.training for module in net.modules()}
    kind = next(net.parameters()).device.type

    def forward(X):
        with torch.inference_mode(), torch.autocast(
                kind, dtype or torch.bfloat16, enabled=dtype is not None):
            return net(X.to(memory_format=order))

    try:
        net.eval()
        yield forward
    finally:
        for module, training in modes.items():
            module.training = training

# %%
def throughput(model, shape, repeats=3, **switches):
    """Images per second in evaluation: the best of several batches.

    `shape` is that of a batch, such as (8, 3, 96, 96); `switches` go to
    `switched`. One more batch runs first and is not counted.
    """
    device = next(model.parameters()).device
    X, seconds = torch.rand(shape, device=device), []
    with switched(model, **switches) as forward:
        for _ in range(repeats + 1):
            start = time.perf_counter()
            forward(X)
            if device.type != "cpu":
                torch.accelerator.synchronize()
            seconds.append(time.perf_counter() - start)
    return shape[0] / min(seconds[1:])

# %% [markdown]
# First: do the switches leave the results alone?

# %%
torch.manual_seed(0)
batch = torch.rand(4, 3, 96, 96)
model = apply_init(ResNet18(**reference), batch[:1], init_he).train()
model.net[1].eval()  # one part in another mode
outputs = {}
for name, switches in {
        "plain": {}, "channels_last": {"channels_last": True},
        "bfloat16": {"dtype": torch.bfloat16},
        "both": {"channels_last": True, "dtype": torch.bfloat16}}.items():
    with switched(model, **switches) as forward:
        outputs[name] = forward(batch)


def difference(name):
    """Relative distance of the scores from those without a switch."""
    exact = outputs["plain"]
    return ((outputs[name].float() - exact).norm() / exact.norm()).item()


print(f"channels_last changes the scores by less than 1e-5: "
      f"{difference('channels_last') < 1e-5}; bfloat16 by about "
      f"{difference('bfloat16'):.0e}")

# %%
# check 8.9-C4: small changes of the scores, none of model and inputs
assert difference("channels_last") < 1e-4
assert 1e-4 < difference("bfloat16") < 5e-2
assert 1e-4 < difference("both") < 5e-2
assert outputs["bfloat16"].dtype == torch.bfloat16
assert outputs["channels_last"].dtype == torch.float32
assert not outputs["plain"].requires_grad
modes = [module.training for module in model.net]
assert modes == [True, False, True, True, True, True] and model.training
weight = model.net[0][0].weight
assert weight.dtype == batch.dtype == torch.float32
assert weight.is_contiguous() and batch.is_contiguous()
assert int(model.net[0][1].num_batches_tracked) == 0  # evaluation mode

# %% tags=["hide-input"]
# check: images per second of the best batch, without the first
clock = iter([0.0, 0.1, 10.0, 14.0, 20.0, 22.0])  # batches of 0.1, 4, 2 s
seen = []
watched = nn.Conv2d(3, 2, 3)
watched.register_forward_hook(lambda layer, inputs, output: seen.append(
    (tuple(output.shape), layer.training, torch.is_grad_enabled())))
with mock.patch("time.perf_counter", lambda: next(clock)):
    assert throughput(watched, (6, 3, 8, 8), repeats=2) == 3.0
assert seen == [((6, 2, 6, 6), False, False)] * 3 and watched.training

# %% [markdown]
# `channels_last` leaves the scores alone up to rounding; bfloat16, with its 8 bits of precision, moves them by about half a per cent here.
#
# Now the clock.
# The networks of the table get zeros instead of weights.
# We send one picture of 128 by 128 pixels through each.
# All times belong to the machine that ran this notebook, and to the moment.

# %% tags=["timing"]
frame = (1, 3, 128, 128)


def hollow(make):
    """A model on the CPU with zeros, and its operations for `frame`."""
    with torch.device("meta"):
        model = make()
        macs = operations(model, frame)
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    assert not any(p.any() for p in model.parameters())
    return model, macs


speeds = {}  # name: (images a second, multiply-accumulates an image)
for name, (_, _, make) in published.items():
    net, macs = hollow(make)
    speeds[name] = throughput(net, frame, repeats=1), macs
    rate = speeds[name][0]
    print(f"{name:13s}{1000 / rate:5.0f} ms an image, "
          f"{rate * macs / 1e9:5.1f} billion MACs a second")
for name, switches in {
        "plain": {}, "channels_last": {"channels_last": True},
        "bfloat16": {"dtype": torch.bfloat16},
        "both": {"channels_last": True, "dtype": torch.bfloat16}}.items():
    rate = throughput(model, (4, 3, 96, 96), repeats=2, **switches)
    print(f"ResNet-18 at 96 x 96, {name:14s}{rate:5.0f} images a second")

# %% [markdown]
# The last column would be a constant if operations decided.
# It is not.
# Large weight matrices that must be fetched for a single image, groups and many small layers are usual suspects; Exercise 2 puts one of them to the test on your machine.
# Dehghani et al. (2021) show for other families that parameters, operations and speed can contradict each other, and that a paper which reports only one of the three gives a partial picture.

# %% [markdown]
# ## Which one should you take?
#
# With few labels and pictures of the kind that people photograph: none of them from scratch.
# Take a pretrained backbone, probe it, fine-tune it if the probe is not enough.
# Kornblith et al. (2018) found that accuracy on ImageNet predicts the accuracy of such probes very well over 16 networks and 12 data sets, but that the recipe spoils this: label smoothing and dropout improved ImageNet and hurt the features.
# Fang et al. (2023) tried six data sets of practical tasks, such as camera traps and satellites, and on several of them a better ImageNet network was not consistently better.
# So try two backbones on your own pictures before you believe a table, this one included.
#
# And the architectures?
# The same ResNet-50 whose first recipe gave 75 to 76 % on ImageNet reached 80.4 % with the recipe of 2021 (Wightman et al.), and Bello et al. (2021) concluded that training and scaling may matter more than architectural changes.
# ConvNeXt (2022) moved a ResNet step by step to the recipe and the proportions of a vision Transformer and competed with it; pretrained on about four billion labelled images, convolutional networks matched the accuracy reported for Transformers of comparable compute (Smith et al., 2023).
# In a comparison of some sixty public backbones, convolutional ConvNeXts with supervised pretraining on the large ImageNet were among the best over many tasks (Goldblum et al., 2023).
# Since then Transformers that learn without labels have gone further: DINOv3 (2025) reports better results, frozen, than specialized networks over a broad range of tasks, and its small descendants include ConvNeXts.
# Section 11.8 builds the vision Transformer.

# %% [markdown]
# ## Summary
#
# - A network on the device `meta` can be counted for nothing. Parameters, operations, depth and receptive field rank the published networks in four different orders.
# - A fair comparison fixes data, steps, recipe and *one* cost, and gives each network the same search for its rate. Then it asks what rounding and seeds alone would change. At our budget three seeds did not settle the order of five architectures.
# - A newer recipe moved one network by a few hundredths; those five architectures differed by a few hundredths too.
# - On photographs like those of ImageNet, pretrained features with fifteen labels a class beat everything else with fifty, and the same architecture with random weights was near guessing. On gray garments the lead was gone.
# - Multiply-accumulates do not determine the time; measure, with the switches that you will use.

# %% [markdown]
# ## Exercises
#
# ### Exercise 8.9-1
#
# Rank the networks at equal operations by accuracy per multiply-accumulate and per parameter.
# Add a softmax regression on the pixels.
# Is "accuracy per operation" a good measure?

# %% [markdown]
# #### Solution 8.9-1

# %% [markdown]
# At equal operations the first ranking is that of the accuracies, up to the small differences in cost; the second prefers the networks that need few parameters for their operations.
# The softmax regression, fitted to the same images, needs 10 multiply-accumulates a pixel, about a fiftieth of the others, and wins the first ranking easily, as a network that always guesses would win with one operation.
# A quotient rewards being small; a curve of accuracy against cost shows what each additional operation buys.

# %% tags=["rtol=0.1"]
def ranking(table, key):
    """Names by mean accuracy per unit of `key`, the best first."""
    return sorted(table, reverse=True, key=lambda name: sum(
        table[name]["val_acc"]) / len(table[name]["val_acc"])
        / table[name][key])


table = dict(results["operations"])
count, trained = picture_size**2, len(data.X_train)
line = probe(torch.cat([data.X_train, data.X_val]),
             torch.cat([data.y_train, data.y_val]), torch.arange(trained),
             torch.arange(trained, trained + len(data.X_val)))
assert count == data.X_train[0].numel()
table["softmax"] = {"macs": count * 10, "params": count * 10 + 10,
                    "val_acc": [line]}
ranks = {key: ranking(table, key) for key in ("macs", "params")}
for key, names in ranks.items():
    print(f"accuracy per {key}, best first:", ", ".join(names[:3]))
toy = {"large": {"macs": 4, "params": 1, "val_acc": [0.9, 0.7]},
       "small": {"macs": 2, "params": 2, "val_acc": [0.6]}}
assert ranking(toy, "macs") == ["small", "large"]
assert ranking(toy, "params") == ["large", "small"]
if full_run and real and not num_gpus:
    assert ranks["macs"][0] == "softmax" and line > 0.5
    assert table["softmax"]["macs"] * 40 < table["VGG"]["macs"]
    assert ranks["params"].index("DenseNet") < ranks["params"].index("VGG")

# %% [markdown]
# ### Exercise 8.9-2
#
# Throughput does not follow the operations.
# Which of the published networks does the most and which the fewest multiply-accumulates in a second on your machine, and what do their layers have in common?

# %% [markdown]
# #### Solution 8.9-2

# %% [markdown]
# The order depends on the machine, so we print each network's place in it, 1 for the fewest operations a second.
# A suspect for the low end is the dense head of AlexNet, which reads all its weights for a single image: we time its parts apart, with one image and with sixteen.
# If reading weights sets the pace, the head does more operations a second in the larger batch, for each weight is then used sixteen times.
# A larger batch also spreads the fixed cost of each call, so compare the head's gain with that of the convolutions.
# Other suspects are grouped convolutions (ResNeXt), whose matrices are smaller, and the many narrow layers of DenseNet, which also copies what it concatenates.
# Hold them against your order: a network with few operations a second and none of these features needs another suspect, and one that has such a feature and many operations a second speaks against it.

# %% tags=["timing"]
def by_operations(speeds):
    """Names by multiply-accumulates a second, the fewest first."""
    return sorted(speeds, key=lambda name: math.prod(speeds[name]))


order = by_operations(speeds)
for name in speeds:
    print(f"{name:13s} place {order.index(name) + 1} of {len(order)}")
assert by_operations({"a": (10, 5e9), "b": (30, 1e9)}) == ["b", "a"]
alex, _ = hollow(published["AlexNet"][2])
cut = 1 + [type(part) for part in alex.net].index(nn.Flatten)
body, head = alex.net[:cut], alex.net[cut:]
inner = body(torch.zeros(frame)).shape[1]
for what, part, single in (("convolutions", body, frame[1:]),
                           ("dense head", head, (inner,))):
    work = operations(part, (1, *single))
    print(f"{what:13s}", ", ".join(
        f"{throughput(part, (m, *single)) * work / 1e9:5.1f} billion MACs "
        f"a second with {m}" for m in (1, 16)))

# %% [markdown]
# ### Exercise 8.9-3
#
# Replace every 3x3 convolution of ResNet-18 (three colours, 1000 classes) by a depthwise 3x3 and a 1x1 convolution, both without bias, as MobileNet does (with normalization and ReLU in between, which we leave out).
# How many parameters and operations are left?

# %% [markdown]
# #### Solution 8.9-3

# %% [markdown]
# A 3x3 convolution from $c$ to $d$ channels has $9cd$ weights, the pair $9c+cd$.
# For many channels the ratio approaches 9; the stem, the shortcuts and the head do not change, so about a sixth of all parameters is left, and a little less than a fifth of the operations.

# %%
def separable(net):
    """All 3x3 convolutions inside `net` exchanged in place."""
    for name, part in net.named_children():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
            c, d = part.in_channels, part.out_channels
            setattr(net, name, nn.Sequential(
                nn.Conv2d(c, c, 3, part.stride, 1, groups=c, bias=False),
                nn.Conv2d(c, d, 1, bias=False)))
        else:
            separable(part)
    return net


def in_blocks(net):
    """Weights of convolutions inside the residual blocks' main branch."""
    return sum(p.numel() for name, p in net.named_parameters()
               if p.ndim == 4 and "shortcut" not in name
               and not name.startswith("net.0"))


with torch.device("meta"):
    net = ResNet18(**reference)
    macs = operations(net)
    before, params = in_blocks(net), count_params(net)
    light = separable(net)
    print(f"weights of the 3x3 convolutions {before:,} -> "
          f"{in_blocks(light):,}, all parameters {params:,} -> "
          f"{count_params(light):,}, MACs {macs:,} -> "
          f"{operations(light):,}")
    assert operations(light) < macs / 5
assert (before, in_blocks(light)) == (10_985_472, 1_251_136)
assert count_params(light) == 1_955_176
assert round(params / count_params(light), 2) == 5.98

# %% [markdown]
# ### Exercise 8.9-4
#
# Split the difference between the plain and the full recipe into its parts: change the optimizer alone, then add the schedule, then the smoothing, with three seeds each.

# %% [markdown]
# #### Solution 8.9-4

# %% [markdown]
# The parts are printed: here AdamW and the schedule each add about three hundredths and the smoothing nothing; three seeds say little about steps so small, so only the mean of the sum is asserted, and not for each seed.
# The constant rate of AdamW is again the best of three on held-out images (0.001, 0.003, 0.01).

# %% tags=["rtol=0.1"]
ladder = {
    "SGD, constant rate": by_recipe["plain"],
    "AdamW, constant rate": recipe_scores(
        resnet, lambda p: torch.optim.AdamW(p, lr=3e-3, fused=True), data),
    "AdamW, one cycle": recipe_scores(resnet, cycle, data),
    "with label smoothing": by_recipe["full"]}
for name, scores in ladder.items():
    print(f"{name:22s}", " ".join(f"{a:.2f}" for a in scores),
          f" mean {sum(scores) / 3:.2f}")
if full_run and real and not num_gpus:
    assert sum(ladder["with label smoothing"]) / 3 > 0.01 + sum(
        ladder["SGD, constant rate"]) / 3

# %% [markdown]
# ## Sources
#
# - The papers of the networks are listed in Section 8.0.
# - M. Tan and Q. V. Le, EfficientNet: rethinking model scaling for convolutional neural networks, 2019, [arXiv:1905.11946](https://arxiv.org/abs/1905.11946).
# - R. Liu, Higher accuracy on vision models with EfficientNet-Lite, 2020, [blog.tensorflow.org](https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html): what was removed for phones.
# - M. Dehghani, A. Arnab, L. Beyer, A. Vaswani and Y. Tay, The efficiency misnomer, 2021, [arXiv:2110.12894](https://arxiv.org/abs/2110.12894): parameters, operations and speed contradict each other.
# - R. Wightman, H. Touvron and H. Jégou, ResNet strikes back, 2021, [arXiv:2110.00476](https://arxiv.org/abs/2110.00476): ResNet-50 with a new recipe.
# - I. Bello et al., Revisiting ResNets: improved training and scaling strategies, 2021, [arXiv:2103.07579](https://arxiv.org/abs/2103.07579).
# - Z. Liu et al., A ConvNet for the 2020s, 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545): ConvNeXt.
# - S. L. Smith, A. Brock, L. Berrada and S. De, ConvNets match vision Transformers at scale, 2023, [arXiv:2310.16764](https://arxiv.org/abs/2310.16764).
# - M. Goldblum et al., Battle of the backbones, 2023, [arXiv:2310.19909](https://arxiv.org/abs/2310.19909).
# - S. Kornblith, J. Shlens and Q. V. Le, Do better ImageNet models transfer better?, 2018, [arXiv:1805.08974](https://arxiv.org/abs/1805.08974).
# - A. Fang, S. Kornblith and L. Schmidt, Does progress on ImageNet transfer to real-world datasets?, 2023, [arXiv:2301.04644](https://arxiv.org/abs/2301.04644).
# - O. Siméoni et al., DINOv3, 2025, [arXiv:2508.10104](https://arxiv.org/abs/2508.10104).
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the networks of the chapter in the form taught today.
