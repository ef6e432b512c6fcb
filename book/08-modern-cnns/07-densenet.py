# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist, kaggle-house]
#     profiles:
#       gpu:
#         train_size: 60000
#         val_size: 10000
#         batch_size: 128
#         size: 96
#         width: 1.0
#         max_epochs: 10
#         compare_size: 60000
#         compare_width: 1.0
#         compare_epochs: 10
#         num_seeds: 3
#         num_gpus: 1
#       smoke:
#         train_size: 400
#         val_size: 200
#         max_epochs: 1
#         compare_size: 200
#         compare_epochs: 1
#         num_seeds: 2
#         house_epochs: 2
#     rehearsal:
#       train_size: 0.05
#       val_size: 0.05
#       size: 0.334
#       width: 0.25
#       max_epochs: 0.2
#       compare_size: 0.02
#       compare_width: 0.25
#       compare_epochs: 0.2
#       num_seeds: 0.67
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
# # 8.7 DenseNet
#
# A residual block adds its result to its input, and the sum alone does not say which part came from where.
# A dense block puts them side by side instead, so every later layer can choose.
# We build the network that follows from this, find out what it saves and what it pays, and ask whether its layers really use the old features.
#
# **You will**
#
# - build dense blocks and transitions, and predict the number of channels at every point;
# - say at equal *what* DenseNet is smaller than ResNet, since it depends on whether you count parameters, operations or memory;
# - measure which earlier features a trained layer needs, and find out how much the answer owes to the way of measuring;
# - bring the memory for training from quadratic to linear in the depth by checkpointing, and mend the side effect on batch normalization.
#
# **Cost**: less than a minute on a CPU; the profile `gpu` trains on all images; a download of 32 MB, once.

# %%
from itertools import count

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    count_macs, init_he, layer_summary)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, predict)
from d2l_helpers.chapters.modern_cnns import (
    Residual, ResNet, ResNet18, fit_quietly, port_state, scaled)
from d2l_helpers.chapters.multilayer_perceptrons import (
    distinct_elements, saved_tensors)

d2l.use_style()

# %% tags=["parameters"]
train_size = 2560  # images
val_size = 1000
batch_size = 64
size = 32  # height and width of the images
width = 0.25  # of the published channels
max_epochs = 3
compare_size = 800  # images of each network in the comparison
compare_width = 0.25
compare_epochs = 3
num_seeds = 3
house_epochs = 10  # of the perceptrons of an exercise
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## Keep everything
#
# Taylor's series writes a function as nested terms of rising order,
#
# $$f(x)=f(0)+x\Big[f'(0)+x\Big[\frac{f''(0)}{2!}+x\big[\dots\big]\Big]\Big], \tag{8.7.1}$$
#
# where $x$ is a number close to 0 and $f$ a function that equals its series there (it is *analytic* at 0).
# Each bracket refines what stands before it, and what stands before it stays.
# A residual block ([Section 8.6](06-resnet.ipynb)) has the first two terms of such a series, a simple one and the rest: $f(\mathbf{x})=\mathbf{x}+g(\mathbf{x})$.
# This is an analogy, not a derivation, and it suggests a question: why stop after two terms, and why add them up?
# (Units that read everything before them are older: cascade-correlation, by Fahlman and Lebiere in 1989, grew perceptrons in this way.)
#
# DenseNet (Huang and others, 2016) keeps all terms, and keeps them apart:
#
# $$\mathbf{x}\to\big[\mathbf{x},\ f_1(\mathbf{x}),\ f_2([\mathbf{x},f_1(\mathbf{x})]),\ f_3([\mathbf{x},f_1(\mathbf{x}),f_2([\mathbf{x},f_1(\mathbf{x})])]),\ \dots\big]. \tag{8.7.2}$$
#
# Here $\mathbf{x}$ is a stack of maps of shape $(c_0,h,w)$, each $f_i$ is a small stack of layers that returns $k$ maps of the same height and width, and the brackets concatenate along the channels.
#
# ![Two blocks side by side. Left, ResNet: the input x with c channels goes through g and around it, both are added, and c channels leave. Right, DenseNet: f makes k channels from x, which are put beside the c channels of x, so that c + k channels leave.](img/dense-add-concat.svg)
#
# **Figure 8.7.1.** Adding needs equal widths and returns the same width; concatenating accepts any width, and the widths add up.
#
# A layer needs to make only a few new maps, since all the old ones remain within reach.
# Their number $k$ is called the *growth rate*: after $i$ layers there are
#
# $$c_i = c_0 + ik \tag{8.7.3}$$
#
# channels.
# With $c_0=3$, $k=10$ and two layers these are 23.

# %% [markdown]
# ## The dense block
#
# Each $f_i$ is batch normalization, ReLU and a 3x3 convolution, in this order.
# With normalization *before* the convolution, each layer has its own scale and shift for every channel that it reads, although all layers read the same maps.

# %% tags=["export"]
def conv_block(num_channels):
    """Batch normalization, ReLU, 3x3 convolution to `num_channels`."""
    return nn.Sequential(
        nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(num_channels, kernel_size=3, padding=1))

# %% tags=["export"]
class DenseBlock(nn.Module):
    """`num_convs` blocks, each of which sees all earlier outputs.

    (n, c, h, w) -> (n, c + num_convs * num_channels, h, w), the input
    first; `block(num_channels)` makes one of the blocks.
    """

    def __init__(self, num_convs, num_channels, block=conv_block):
        super().__init__()
        self.net = nn.Sequential(*(block(num_channels)
                                   for _ in range(num_convs)))

    def forward(self, X):
        for part in self.net:
            X = torch.cat((X, part(X)), dim=1)
        return X

# %%
torch.manual_seed(0)
small = DenseBlock(2, 10)
X = torch.randn(4, 3, 8, 8)
Y = small(X)
print(tuple(X.shape), "->", tuple(Y.shape))

# %%
# check 8.7-C1: 3 + 10 + 10 channels; the input and the first maps stay
assert Y.shape == (4, 23, 8, 8)
assert torch.equal(Y[:, :3], X)
first = small.net[0](X)  # (4, 10, 8, 8)
assert torch.equal(Y[:, 3:13], first)
second = small.net[1](torch.cat((X, first), dim=1))
assert torch.equal(Y[:, 13:], second)

# %% [markdown]
# ![A dense block of four layers. The input gives 64 channels, each layer 32. An arrow runs from each box to every later one, so layers 1 to 4 read 64, 96, 128 and 160 channels; the transition, a 1 by 1 convolution with pooling, reads 192 and gives 96.](img/dense-block.svg)
#
# **Figure 8.7.2.** A block of four layers with growth rate 32, and the transition behind it.
#
# Layer $i$ reads from the input and from $i-1$ layers, so a block of $L$ layers has $1+2+\dots+L=L(L+1)/2$ connections, where a chain has $L$.
# The dense graph gave the network its name.

# %%
# check 8.7-C5: connections, counted from the widths that layers read
def connections(block, c0, k):
    """Sources of each layer of a dense block, added up."""
    return sum(1 + (part[2].in_channels - c0) // k for part in block.net)


for L, expected in ((4, 10), (5, 15), (100, 5050)):
    block = DenseBlock(L, 2)
    assert block(torch.zeros(2, 6, 1, 1)).shape[1] == 6 + 2 * L
    assert connections(block, 6, 2) == expected == L * (L + 1) // 2
    print(f"{L:3} layers: {expected:4} connections")

# %% [markdown]
# ## The transition
#
# Between blocks the channels must come down again.
# A *transition* mixes them to a smaller number by a 1x1 convolution and halves height and width by averaging.

# %% tags=["export"]
def transition_block(num_channels, bias=True):
    """To `num_channels` by a 1x1 convolution; halved by averaging."""
    return nn.Sequential(
        nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(num_channels, kernel_size=1, bias=bias),
        nn.AvgPool2d(kernel_size=2, stride=2))

# %%
torch.manual_seed(1)
transition = transition_block(10)
Z = transition(Y)
assert Z.shape == (4, 10, 4, 4)  # from (4, 23, 8, 8)
assert transition[2].bias is not None

# %% [markdown]
# The usual order, mix and then average, does four times the work that is needed.
# A 1x1 convolution is one linear map applied to every position, and an average over positions with weights that add up to 1 goes through a linear map and its bias unchanged:
#
# $$\frac14\sum_{p}(\mathbf{W}\mathbf{x}_p+\mathbf{b}) = \mathbf{W}\Big(\frac14\sum_p\mathbf{x}_p\Big)+\mathbf{b}. \tag{8.7.4}$$
#
# Here $\mathbf{x}_p\in\mathbb{R}^{c}$ holds the channels at position $p$ of a 2x2 window, $\mathbf{W}\in\mathbb{R}^{c'\times c}$ the weights and $\mathbf{b}\in\mathbb{R}^{c'}$ the biases.
# Averaging first leaves a quarter of the positions to mix.
# The maximum does not pass through a linear map, as Exercise 8.7-1 shows.

# %%
# check 8.7-C6: average first, equal results, a quarter of the work
norm, relu, mix, pool = transition.eval()
reordered = nn.Sequential(norm, relu, pool, mix)
torch.testing.assert_close(reordered(Y), transition(Y))
work = [sum(count_macs(net, (1, 23, 8, 8)).values())
        for net in (transition, reordered)]
assert work[0] == 4 * work[1] == 23 * 10 * 64
largest = nn.MaxPool2d(2)  # does not commute
gap = (mix(largest(Y)) - largest(mix(Y))).abs().max()
assert gap > 0.1
print("multiply-accumulates:", work)

# %% [markdown]
# ## The network
#
# The stem is that of ResNet, and in place of its four stages stand four dense blocks.
# By default a block has four layers with growth rate 32, so it adds 128 channels, and each transition halves the channels, their *compression* by $\theta=\frac12$.
# Two arguments, `block` and `bias`, wait for the published networks below.

# %% tags=["export"]
class DenseNet(Classifier):
    """A DenseNet; returns scores (n, num_classes).

    `num_channels` leave the stem, each layer of a dense block adds
    `growth_rate`, `arch` is the number of layers in each block; `width`
    multiplies the first two. `block(growth)` makes a layer of the dense
    blocks; `bias` belongs to the convolutions outside of them.
    """

    def __init__(self, num_channels=64, growth_rate=32, arch=(4, 4, 4, 4),
                 lr=0.01, num_classes=10, width=1.0, block=conv_block,
                 bias=True):
        super().__init__()
        self.save_hyperparameters()
        channels, growth = scaled(num_channels, width), scaled(
            growth_rate, width)
        layers = [self.b1(channels)]
        for i, num_convs in enumerate(arch):
            layers.append(DenseBlock(num_convs, growth, block))
            channels += num_convs * growth
            if i < len(arch) - 1:
                channels //= 2
                layers.append(transition_block(channels, bias))
        self.net = nn.Sequential(*layers, nn.Sequential(
            nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.LazyLinear(num_classes)))

    def b1(self, channels):
        """The stem of ResNet: a quarter of the height and width."""
        return nn.Sequential(
            nn.LazyConv2d(channels, kernel_size=7, stride=2, padding=3,
                          bias=self.bias),
            nn.LazyBatchNorm2d(), nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1))

# %%
def macs(net, side, channels=1):
    """Multiply-accumulates for one image of this side."""
    return sum(count_macs(net, (1, channels, side, side)).values())


with torch.device("meta"):
    dense, residual = DenseNet(), ResNet18()
    shapes = [(row[1][1], *row[1][2:3])  # (channels, height)
              for row in layer_summary(dense.net, (1, 1, 96, 96))]
    cost = {net: (count_params(net), macs(net, 96))
            for net in (dense, residual) if macs(net, 96)}
print(" -> ".join(map(str, shapes)))

# %%
# check 8.7-C2: channels and height behind the stem and every block
assert shapes == [(64, 24), (192, 24), (96, 12), (224, 12), (112, 6),
                  (240, 6), (120, 3), (248, 3), (10,)]

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.9))
widths = [64]  # after the stem and every layer
for b in range(4):
    for _ in range(4):
        widths.append(widths[-1] + 32)
    if b < 3:
        widths.append(widths[-1] // 2)
ax.step(range(len(widths)), widths, where="mid", color="C0")
ax.plot(range(len(widths)), widths, "o", ms=4, color="C0")
for b in range(3):
    at = 5 * (b + 1)
    ax.plot(at, widths[at], "s", ms=8, color="C1",
            label="transition" if b == 0 else None)
ax.set(xlabel="layer of the body", ylabel="channels", ylim=(0, 265),
       xticks=range(0, 20, 5))
ax.legend()
d2l.describe(ax, """Channels along the depth: a saw-tooth. From 64 they rise
    by 32 with each of four layers to 192, fall to 96, rise to 224, fall to
    112, rise to 240, fall to 120, and end at 248.""")
assert widths[4::5] == [c for c, _ in shapes[1:8:2]]  # ends of the blocks
assert widths[::5] == [c for c, _ in shapes[:8:2]]  # and what enters them

# %% [markdown]
# **Figure 8.7.3.** Channels along the depth: blocks add, transitions halve.
# Without transitions the last block would end with 576 channels, and every layer would read more than the one before it.

# %% [markdown]
# ## Training
#
# On a laptop we take a quarter of the channels and small images, and train with AdamW, an optimizer that adapts the step of every weight (Section 12.10).
# Its rate falls linearly to 0; a hook moves the schedule after every step.

# %%
data = FashionMNIST(batch_size, resize=(size, size), train_size=train_size,
                    val_size=val_size)
real = data.source == "real"
full_run = train_size >= 2560 and compare_size >= 800  # not smoke
torch.manual_seed(0)
model, untrained = (apply_init(DenseNet(width=width), data.X_train[:1],
                               init_he) for _ in range(2))
port_state(model, untrained)  # a copy from before the training


def adamw(lr, steps):
    """For `fit_quietly`: AdamW whose rate falls to 0 in `steps` steps."""
    def make(parameters):
        optimizer = torch.optim.AdamW(parameters, lr=lr)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return optimizer
    return make


steps = max_epochs * len(data.train_dataloader())
history = fit_quietly(model, data, max_epochs, adamw(3e-3, steps),
                      num_gpus=num_gpus)
model.cpu()
epochs = range(1, max_epochs + 1)

# %%
ax = d2l.plot(epochs, [history["train_loss"], history["val_loss"],
                       history["val_acc"]],
              ["training loss", "validation loss", "validation accuracy"],
              xlabel="epoch", fmts=("o-", "s--", "^-."))
ax.set_xticks(epochs)
d2l.describe(ax, """Over the epochs the training and validation losses fall
    and the validation accuracy rises.""")
assert width != 0.25 or count_params(model) == 49_860
if full_run and real:
    assert sum(history["val_acc"][-2:]) / 2 >= 0.72
    assert history["train_loss"][-1] < 0.75 * history["train_loss"][0]

# %% [markdown]
# **Figure 8.7.4.** A narrow DenseNet on a few thousand images.
# The training loss is the mean over an epoch while the weights change; the validation loss is taken at its end.

# %% [markdown]
# ## Smaller, but at equal what?
#
# DenseNet is known for its few parameters.

# %%
# check 8.7-C3: parameters and multiply-accumulates at 96 x 96
(p_dense, m_dense), (p_res, m_res) = cost[dense], cost[residual]
assert (p_dense, p_res) == (758_226, 11_178_378)
assert round(m_dense / 1e5) == 1291 and round(m_res / 1e5) == 3187
print(f"parameters: {p_res / p_dense:.1f} times fewer than ResNet-18, "
      f"operations: {m_res / m_dense:.1f} times fewer")
print(f"positions where a weight is used, on average: DenseNet "
      f"{m_dense / p_dense:.0f}, ResNet-18 {m_res / p_res:.0f}")
assert 14 < p_res / p_dense < 15 and 2.4 < m_res / m_dense < 2.5

# %% [markdown]
# The two ratios differ by a factor of six, and the last line says where it comes from.
# ResNet doubles its channels whenever it halves height and width, so each stage costs about as much as the one before and has about four times its parameters.
# DenseNet's channels hardly grow from block to block, so a larger share of its weights sits at the higher resolutions, where each does more work.
# "Fewer parameters" is thus a statement about where a network keeps its channels, as much as about concatenation, and nothing is said yet about accuracy.

# %% [markdown]
# ## Are old features reused?
#
# The authors' reading is *feature reuse*: a layer finds early maps useful as they are, and need not copy them.
# A connection exists, but is it used?
# In a trained network two things can be measured for each pair of a source and a layer that reads it:
#
# - the mean size of the weights with which the layer reads the source, relative to the mean over all its sources (the paper shows such a picture);
# - the rise of the loss when the trained network must do without this connection, that is, when the reader gets nothing but the mean of the source's maps, over images and positions.

# %%
def links(net):
    """All (source, reader, module, channels) of a DenseNet's blocks.

    Source 0 is the input of a block, 1, 2, ... are its layers. Readers
    are its layers and what follows it, numbered through all blocks;
    module is a reader's convolution or dense layer, channels are those
    of the source in what it reads.
    """
    found, reader = [], 0
    for block, behind in zip(net[1::2], net[2::2], strict=True):
        c0, k = block.net[0][0].num_features, block.net[0][2].out_channels
        for i, part in enumerate([*block.net, behind]):
            module = next(m for m in part
                          if isinstance(m, (nn.Conv2d, nn.Linear)))
            stops = [0] + [c0 + j * k for j in range(i + 1)]
            found += [(source, reader, module, slice(a, b)) for source, (a, b)
                      in enumerate(zip(stops, stops[1:]))]
            reader += 1
    return found

# %%
def loss_without(model, cut, X, y, fill=1.0):
    """The loss on (X, y) if the links in `cut` carry only their means.

    A channel's mean is taken over images and positions and multiplied by
    `fill`: with 0 the links carry zeros.
    """
    def flatten(channels):
        def hook(module, inputs):
            Z = inputs[0].clone()  # (n, c, h, w) or (n, c)
            axes = [axis for axis in range(Z.dim()) if axis != 1]
            Z[:, channels] = fill * Z[:, channels].mean(axes, keepdim=True)
            return Z
        return hook

    handles = [module.register_forward_pre_hook(flatten(channels))
               for _, _, module, channels in cut]
    loss = F.cross_entropy(model(X), y).item()
    for handle in handles:
        handle.remove()
    return loss

# %%
def sizes_of(net):
    """Mean size of the weights of each link over that of its reader."""
    return torch.stack([m.weight[:, part].abs().mean() / m.weight.abs().mean()
                        for _, _, m, part in links(net)])


model.eval()
X_few, y_few = data.X_val[:300], data.y_val[:300]
all_links = links(model.net)
with torch.no_grad():
    sizes_before, sizes = sizes_of(untrained.net), sizes_of(model.net)
    intact = loss_without(model, [], X_few, y_few)
    harms = torch.tensor([loss_without(model, [link], X_few, y_few)
                          for link in all_links]) - intact
print(f"{len(all_links)} connections, {len(X_few)} images")

# %% tags=["hide-input"]
# check: hooks are gone; zeros act like zeroed weights, means like a bias
assert len(all_links) == 4 * 15 and all_links[-1][:2] == (4, 19)
assert not model.training  # the losses are those of evaluation mode
with torch.no_grad():
    assert loss_without(model, [], X_few, y_few) == intact
inner, last = all_links[[link[:2] for link in all_links].index((1, 2))], (
    all_links[-1])  # layer 1 to layer 3 of block 1; to the dense layer
assert inner[3] == slice(scaled(64, width),
                         scaled(64, width) + scaled(32, width))
read = []
handle = last[2].register_forward_pre_hook(lambda m, x: read.append(x[0]))
with torch.no_grad():
    model(X_few)
    handle.remove()
    for link, fill in ((inner, 0.0), (last, 0.0), (last, 1.0)):
        _, _, module, part = link
        old, bias = module.weight.clone(), module.bias.clone()
        if fill:  # what the mean of the images adds
            module.bias += old[:, part] @ read[0][:, part].mean(dim=0)
        module.weight[:, part] = 0
        by_hand = F.cross_entropy(model(X_few), y_few).item()
        module.weight.copy_(old)
        module.bias.copy_(bias)
        assert abs(by_hand - loss_without(model, [link], X_few, y_few,
                                          fill)) < 1e-5
        assert abs(by_hand - intact) > 1e-4
images = X_few[:8].clone()  # a cut changes what one layer reads, no more
toy = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 10))
loss_without(toy, [(0, 0, toy[1], slice(5))], images, y_few[:8])
assert torch.equal(images, X_few[:8])

# %% tags=["hide-input"]
# check: only the cut channels are replaced, by their means; mean size 1
handle = inner[2].register_forward_hook(lambda m, x, y: read.append(x[0]))
with torch.no_grad():
    loss_without(model, [], X_few, y_few)
    loss_without(model, [inner], X_few, y_few)
handle.remove()
whole, flat = read[1:]  # what layer 3 of block 1 reads
flat_part = whole[:, inner[3]].mean(dim=(0, 2, 3), keepdim=True)
assert torch.equal(flat[:, :inner[3].start], whole[:, :inner[3].start])
assert torch.equal(flat[:, inner[3].stop:], whole[:, inner[3].stop:])
torch.testing.assert_close(flat[:, inner[3]],
                           flat_part.expand_as(whole[:, inner[3]]))
weighted = [sum(size * (c.stop - c.start) for size, (_, r, _, c)
                in zip(sizes, all_links) if r == reader)
            for reader in range(20)]  # the mean over all channels is 1
widths = [link[2].weight.shape[1] for link in all_links if link[0] == 0]
torch.testing.assert_close(torch.stack(weighted),
                           torch.tensor(widths, dtype=torch.float32))

# %% tags=["chaotic", "hide-input"]
def as_table(values):
    """Sources in rows, readers in columns; nan where there is no link."""
    table = torch.full((5, 20), torch.nan)
    for (source, reader, *_), value in zip(all_links, values):
        table[source, reader] = value
    return table


names = [f"{b}.{i}" if i < 5 else f"{b} end"
         for b in range(1, 5) for i in range(1, 6)]
fig, axes = plt.subplots(2, 1, figsize=(7.2, 4.4), layout="constrained")
for ax, table, title in ((axes[0], sizes, "size of the weights, relative"),
                         (axes[1], harms, "rise of the loss without")):
    d2l.heatmap(as_table(table), title=title, ax=ax,
                rows=["input", *(f"layer {i}" for i in range(1, 5))])
    ax.set_aspect("auto")
    ax.set_xticks(range(20), labels=[])
    ax.set_ylabel("source")
    for b in (1, 2, 3):
        ax.axvline(5 * b - 0.5, color="black", lw=1)
axes[1].set_xticks(range(20), labels=names, rotation=60, fontsize=8)
axes[1].set_xlabel("reader: block.layer, or what follows the block")
d2l.describe(axes, """Two tables with the sources of a block as rows and the
    readers of the four blocks as columns. In the upper one, sizes of
    weights, the values lie around 1 without a pattern. In the lower one,
    rises of the loss, the first row, the input of the block, is brightest,
    above all at the end of a block; below it the last columns are a little
    brighter than the rest, which is dark.""")

# %% [markdown]
# **Figure 8.7.5.** Who reads what in the trained network.
# Above, the size of the weights; below, the rise of the loss on 300 validation images when this one connection carries only means.

# %% [markdown]
# The weights say little here: their relative sizes have hardly changed from the random start, and the upper picture is mostly a picture of that start.
# (The published one comes from a network trained for hundreds of epochs.)
# The losses tell the connections apart.
# Three things could mislead, though, and the next cell controls them.
# Sources can replace each other when they are cut one by one, so each kind is also cut as a whole.
# The input of a block has more channels than a layer, so we also cut just $k$ random ones of it.
# And zeros, the usual way to cut, also shift what the reader computes; we measure how much that adds.

# %%
def kind(link):
    """Which of four kinds of connections a link belongs to."""
    source, reader = link[:2]
    return (("input" if source == 0 else "layer") + " to "
            + ("layer" if reader % 5 < 4 else "end"))


groups = {name: [i for i, link in enumerate(all_links)
                 if kind(link) == name]
          for name in ("input to layer", "layer to layer", "input to end",
                       "layer to end")}
rng = torch.Generator().manual_seed(0)


def few(link):
    """The link with only k of its source's channels, at random."""
    *ends, part = link
    chosen = torch.randperm(part.stop - part.start, generator=rng)
    chosen = chosen[:scaled(32, width)]
    return *ends, part.start + chosen


def rise(cut, fill=1.0):
    return loss_without(model, cut, X_few, y_few, fill) - intact

# %% tags=["rtol=0.3"]
alone, equal_cut, zeros, together = {}, {}, {}, {}
with torch.no_grad():
    for name, group in groups.items():
        cut = [all_links[i] for i in group]
        alone[name] = harms[group].mean().item()
        together[name] = rise(cut)
        print(f"{name:14} {len(cut)} links, mean rise {alone[name]:.3f}, "
              f"all at once {together[name]:.2f}")
        if name.startswith("input"):  # more than k channels
            equal_cut[name] = sum(rise([few(c)]) for c in cut) / len(cut)
            print(f"{'':14} k channels only: {equal_cut[name]:.3f}")
        if name.endswith("end"):
            zeros[name] = sum(rise([c], 0.0) for c in cut) / len(cut)
            print(f"{'':14} with zeros: {zeros[name]:.3f}")
    same = rise([few(inner)]) - harms[all_links.index(inner)]

# %%
assert [len(group) for group in groups.values()] == [16, 24, 4, 16]
draws = []
for seed in (1, 1, 2):
    rng.manual_seed(seed)
    draws.append(few(inner)[3].tolist())
assert draws[0] == draws[1] != draws[2]
related = torch.corrcoef(torch.stack((sizes_before, sizes, harms)))
print(f"correlation of the sizes with those before {related[0, 1]:.1f}, "
      f"with the rises {related[1, 2]:.1f}")
if full_run and real and max_epochs == 3:
    assert related[0, 1] > 0.75 and related[1, 2].abs() < 0.3
    least = alone["layer to layer"]
    assert 3 * least < min(v for v in alone.values() if v != least)
    assert 1.2 * least < equal_cut["input to layer"] < 6 * least
    assert together["layer to layer"] > 1.3 * 24 * least
    assert sorted(together, key=together.get)[0] == "layer to layer"
    assert zeros["layer to end"] > 1.5 * alone["layer to end"]
assert abs(same) < 1e-5  # all k channels of a layer, in another order
first, again = (few(all_links[0])[3] for _ in range(2))
assert len(first.unique()) == scaled(32, width)
assert first.tolist() != again.tolist()  # chosen at random

# %% [markdown]
# A single connection from layer to layer counts little.
# Part of the difference is a matter of size: per $k$ channels the block's input still matters more to a layer, but no longer many times more.
# With zeros, the connections from layers to the end of a block would have looked about twice as important or more: much of that harm comes from the shift.
# Cut all at once, the connections between layers cost more than the sum of their single costs.
# That is what sources that stand in for one another would do, but also a loss that bends upward as the damage grows.
# Still they cost less than any of the other three kinds.
# So in this network the layers mostly need the block's input, and the maps of the layers are mostly needed by the end of the block.
# (That end also reads the newest maps, those of layer 4, which a chain would give it too.)
# The connections *between* layers, by which a dense block differs from a bundle of parallel layers, count least.
# This is one small network after three epochs, cut without a chance to adapt.
# What a network does that is *trained* without them is another question; Exercise 8.7-6 asks it of a smaller one, and three seeds show no loss.

# %% [markdown]
# ## The price: memory
#
# Parameters are few, but training holds more than parameters.
# The backward pass of batch normalization needs its input, and that of a convolution needs its input, the output of ReLU.
# In `DenseBlock` both are new tensors with *all* channels so far, for each layer anew.
# For $n$ images with maps of $h\times w$, a block of $L$ layers keeps
#
# $$2nhw\sum_{i=0}^{L-1}(c_0+ik) = nhw\big(2Lc_0+L(L-1)k\big) \tag{8.7.5}$$
#
# numbers, quadratic in $L$, although only $c_0+Lk$ of the maps are different ones.
# The rest are copies and cheap functions of them.
#
# *Checkpointing* ([Section 5.3](../05-multilayer-perceptrons/03-backpropagation.ipynb)) keeps the $k$ new maps of each layer and lets the backward pass concatenate, normalize and convolve once more.
# For this the block hands its layers a list of maps, and the concatenation moves into the part that is done again.

# %% tags=["export"]
class CheckpointedDenseBlock(DenseBlock):
    """A DenseBlock that keeps little and computes twice.

    While gradients are recorded, only the input and the output of each
    layer stay in memory. In training, every forward pass with its backward
    pass updates the running statistics of batch normalization twice.
    """

    def forward(self, X):
        maps = [X]
        for part in self.net:
            def layer(*maps, part=part):
                return part(torch.cat(maps, dim=1))
            maps.append(checkpoint(layer, *maps, use_reentrant=False))
        return torch.cat(maps, dim=1)

# %%
def kept(net, X):
    """Numbers in memory for the backward pass, without those of `net`."""
    own = [*net.parameters(), *net.buffers()]
    return distinct_elements(saved_tensors(lambda: net(X)), ignore=own)


def stacked(make, L, c0, n, side):
    """What a block of L layers keeps, as often as is needed at once."""
    block, X = make(L, 8), torch.zeros(n, c0, side, side)
    block(X)  # gives lazy layers their shapes
    total = kept(block, X)
    if make is CheckpointedDenseBlock:  # one layer is done again
        total += 2 * n * (c0 + (L - 1) * 8) * side**2
    return total

# %%
L, c0, k, n, side = 12, 16, 8, 2, 8
block, X = DenseBlock(L, k), torch.zeros(n, c0, side, side)
block(X)
naive = kept(block, X)
saving = CheckpointedDenseBlock(L, k)
saving(X)
lean = kept(saving, X)
maps = n * side**2  # entries of one channel
statistics = 2 * sum(c0 + i * k for i in range(L))  # of the norms
assert naive == maps * (2 * L * c0 + L * (L - 1) * k) + statistics
assert lean == maps * (c0 + (L - 1) * k)
print(f"kept by {L} layers: {naive}, with checkpoints {lean}")

# %% [markdown]
# How does a residual network compare, at equal work?
# A stack of $L$ convolutions with $c$ channels each keeps about $2Lc$ maps as well, the input of every convolution and of every normalization.
# It does as many multiply-accumulates as the dense block if $c^2=\bar ck$, where $\bar c$ is the mean number of channels that a dense layer reads.
# So a dense block keeps about
#
# $$\frac{2L\bar c}{2Lc} = \sqrt{\frac{\bar c}{k}} \tag{8.7.6}$$
#
# times as much.
# A dense layer reads $\bar c$ channels and writes $k$, a residual one reads and writes $\sqrt{\bar ck}$, and what is kept is counted by what is read.

# %%
class ResidualStack(nn.Sequential):
    """Residual blocks with L convolutions, as costly as a dense block."""

    def __init__(self, L, k, c0=16):
        mean = c0 + (L - 1) * k / 2  # channels that a dense layer reads
        c = round((mean * k) ** 0.5)
        super().__init__(Residual(c, use_1x1conv=c != c0),
                         *(Residual(c) for _ in range(L // 2 - 1)))


depths = [2, 4, 8, 16, 24, 32]
memory = [[stacked(make, L, 16, 1, 16) * 4 / 1e6 for L in depths]
          for make in (DenseBlock, CheckpointedDenseBlock,
                        ResidualStack)]
ratio = [a / b for a, b in zip(memory[0], memory[2])]
predicted = [((16 + (L - 1) * 4) / 8) ** 0.5 for L in depths]
print("dense / residual:", [f"{r:.2f}" for r in ratio])
print("predicted:       ", [f"{r:.2f}" for r in predicted])

# %%
X_one = torch.zeros(1, 1, 96, 96)
nets = [apply_init(make(), X_one) for make in (DenseNet, ResNet18)]
whole = [kept(net, X_one) * 4 / 1e6 for net in nets]
shares = [p_dense / p_res, m_dense / m_res, whole[0] / whole[1]]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
d2l.plot(depths, memory, ["dense", "dense, checkpoints", "residual"],
         xlabel="layers of the block", ylabel="kept, MB an image",
         fmts=("o-", "s--", "^-."), ax=axes[0])
axes[1].barh(["parameters", "operations", "activations"][::-1],
             shares[::-1], color="C0")
axes[1].axvline(1, color="black", lw=1)
axes[1].set(xlabel="DenseNet / ResNet-18")
d2l.describe(axes, """Left, memory by the number of layers: the dense block
    rises quadratically, with checkpoints it rises slowly along a straight
    line, and the residual stack of equal operations lies between them.
    Right, three bars: DenseNet has less than a tenth of the parameters of
    ResNet-18 and four tenths of the operations, and keeps more
    activations.""")

# %%
for measured, expected in zip(ratio[2:], predicted[2:]):
    assert abs(measured / expected - 1) < 0.1  # from 8 layers on
growth = [m[-1] / m[-3] for m in memory]  # from 16 to 32 layers
assert growth[0] > 3.3 and growth[1] < 2 and 2.3 < growth[2] < 3
assert shares[0] < 0.07 < 0.4 < shares[1] < 0.41 and 1.5 < shares[2] < 1.6

# %% [markdown]
# **Figure 8.7.6.** Left, what one block keeps for an image with 16x16 maps, with $c_0=16$ and $k=8$; the residual stack does as many operations as the dense block.
# Right, DenseNet against ResNet-18 at 96x96.
#
# From 16 to 32 layers the memory grows nearly fourfold, with checkpoints less than twofold, and the prediction (8.7.6) is within a tenth from eight layers on.
# The whole DenseNet, with a fifteenth of the parameters of ResNet-18, keeps half as much again.
# A technical report of the authors (Pleiss and others, 2017) made the step from quadratic to linear memory, and libraries offer it as an option, such as `memory_efficient` in torchvision.
#
# Gradients come out the same.
# But a forward pass that is done twice moves the running statistics of batch normalization twice, so in evaluation the network is not quite the same.

# %%
# check 8.7-C7: equal gradients, two updates of the running statistics
def one_step(make, momentum=0.1):
    """Gradients, number of updates and running mean after one step."""
    torch.manual_seed(3)
    block, X = make(3, 4), torch.randn(8, 5, 6, 6)
    block.eval()(X)  # shapes
    for module in block.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum
    block(X).square().mean().backward()
    norm = block.net[2][0]
    return ([p.grad for p in block.parameters()],
            norm.num_batches_tracked.item(), norm.running_mean.clone(),
            norm.running_var.clone())


plain, lean = one_step(DenseBlock), one_step(CheckpointedDenseBlock)
torch.testing.assert_close(lean[0], plain[0])
assert (plain[1], lean[1]) == (1, 2)
moved = (lean[2] / plain[2]).mean().item()
assert abs(moved - (1 - 0.9**2) / 0.1) < 1e-3  # 0.19 of the way, not 0.1
block, Z = CheckpointedDenseBlock(3, 4).eval(), torch.randn(2, 5, 4, 4)
torch.testing.assert_close(block(Z), DenseBlock.forward(block, Z))
print(f"the running mean moves {moved:.2f} times as far")

# %% [markdown]
# Two updates with momentum $m'$ leave the share $(1-m')^2$ of the old statistics, so $m'=1-\sqrt{1-m}$ does what one update with $m$ did.

# %%
mended = one_step(CheckpointedDenseBlock, momentum=1 - 0.9**0.5)
torch.testing.assert_close(mended[2:], plain[2:])

# %% [markdown]
# ## The published networks
#
# With a large number of channels the 3x3 convolutions become expensive, since each reads all of them.
# A *bottleneck* layer first mixes what it reads to $4k$ channels by a 1x1 convolution.
# With compression in the transitions the paper calls this form DenseNet-BC, and its networks for ImageNet are all of it.
# `block` and `bias` of our class suffice to build them.

# %% tags=["export"]
class DenseLayerB(nn.Sequential):
    """A layer with a bottleneck: 1x1 to 4 * growth, 3x3 to growth."""

    def __init__(self, growth):
        super().__init__(
            nn.LazyBatchNorm2d(), nn.ReLU(),
            nn.LazyConv2d(4 * growth, kernel_size=1, bias=False),
            nn.LazyBatchNorm2d(), nn.ReLU(),
            nn.LazyConv2d(growth, kernel_size=3, padding=1, bias=False))


def densenet121(num_classes=1000, arch=(6, 12, 24, 16), **options):
    """DenseNet-121, or with another `arch` one of its larger siblings.

    `options` go to DenseNet: growth_rate, num_channels, width, lr.
    """
    return DenseNet(arch=arch, num_classes=num_classes, block=DenseLayerB,
                    bias=False, **options)

# %% [markdown]
# The number in the name counts layers with weights: the stem, two in each of the 58 dense layers, three transitions and the last dense layer, $1+2\cdot58+3+1=121$.
# The library torchvision has the same network, and its weights fit into ours one by one.

# %%
# check 8.7-C4: DenseNet-121, parameters, operations, equal outputs
with torch.device("meta"):
    large = densenet121()
    giga = macs(large, 224, channels=3) / 1e9
print(f"{count_params(large):,} parameters, {giga:.2f} billion operations")
assert count_params(large) == 7_978_856 and round(giga, 2) == 2.83
weighted = [m for m in large.modules()
            if isinstance(m, (nn.Conv2d, nn.Linear))]
assert len(weighted) == 121
try:
    from torchvision.models import densenet121 as theirs
except ImportError:  # torchvision is optional
    theirs = None
if theirs:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64)
    reference = theirs(weights=None)
    reference(images)  # moves the running statistics
    ours = port_state(reference, apply_init(densenet121(), images))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images),
                                   reference.eval()(images))

# %% [markdown]
# ## What does concatenation buy?
#
# At last the comparison at equal cost: a dense and a residual network, both with a stem and eight 3x3 convolutions in two stages.
# The residual one gets the widths, about doubled in the second stage, at which it does as many multiply-accumulates.
# Both train on the same images in the same order, as many steps, with AdamW; for each the learning rate is the one of three with the lowest mean loss, over the three seeds, on other images that are held out of the training part.

# %%
def dense_net():
    return DenseNet(arch=(4, 4), width=compare_width)


def residual_net(c, d):
    """Two residual blocks with c channels, two with d."""
    return ResNet(((2, c / compare_width), (2, d / compare_width)),
                  width=compare_width)


with torch.device("meta"):
    goal = macs(dense_net(), 28)
    c = next(c for c in count(4) if macs(residual_net(c, 2 * c), 28) > goal)
    near = [(a, 2 * a + e) for a in (c - 1, c) for e in (-1, 0, 1)]
    c, d = min(near, key=lambda w: abs(macs(residual_net(*w), 28) - goal))
arms = {"dense": dense_net, "residual": lambda: residual_net(c, d)}
one = torch.zeros(1, 1, 28, 28)
price = {}
for name, make in arms.items():
    net = apply_init(make(), one)
    price[name] = macs(net, 28), count_params(net), kept(net, one)
    print(f"{name:8} {price[name][0]:,} operations, {price[name][1]:,} "
          f"parameters, keeps {price[name][2]:,} numbers an image")
with torch.device("meta"):
    narrow = ResNet18(width=0.63)
    assert abs(macs(narrow, 96) / m_dense - 1) < 0.02
print(f"four stages: {count_params(narrow) / p_dense:.1f} times the "
      f"parameters of DenseNet at equal operations")
assert 5.5 < count_params(narrow) / p_dense < 6.5

# %%
# check: equal operations; the dense net is smaller and keeps more
assert abs(price["residual"][0] / price["dense"][0] - 1) < 0.03
assert price["dense"][1] < price["residual"][1]
assert price["dense"][2] > 1.6 * price["residual"][2]

# %%
train_part = FashionMNIST(batch_size, train_size=compare_size, holdout=2000,
                          val_size=min(300, val_size))
test_part = FashionMNIST(500, train_size=1, val_size=val_size)
rates = (7e-3, 2e-2, 6e-2)


def run(make, rate, seed):
    """Train one network: training and held-out loss, test accuracy."""
    torch.manual_seed(seed)
    net = apply_init(make(), one, init_he)
    steps = compare_epochs * len(train_part.train_dataloader())
    history = fit_quietly(net, train_part, compare_epochs,
                          adamw(rate, steps), seed, num_gpus)
    scores = predict(net, test_part.val_dataloader())
    assert torch.equal(scores[1], test_part.y_val)
    return (history["train_loss"][-1], history["val_loss"][-1],
            net.accuracy(*scores).item())


def study(make):
    """All rates and seeds: (rates, seeds, 3), and the index of the rate."""
    runs = torch.tensor([[run(make, rate, seed) for seed in range(num_seeds)]
                         for rate in rates])
    return runs, runs[..., 1].mean(dim=1).argmin().item()

# %% tags=["hide-input"]
# check: each seed starts anew, and always in the same way; sizes as said
starts = []


def note(net, *_):
    """In the place of `fit_quietly`: notes the start, trains nothing."""
    starts.append(net.net[0][0].weight.sum().item())
    return {"train_loss": [0.0], "val_loss": [0.0]}


trains, fit_quietly = fit_quietly, note
for seed in (0, 0, 1):
    run(dense_net, rates[0], seed)
fit_quietly = trains
assert starts[0] == starts[1] != starts[2]
assert len(train_part.y_train) == compare_size
assert len(train_part.y_val) == min(300, val_size)
assert len(test_part.y_val) == len(data.y_val) == val_size
assert len(data.y_train) == train_size and steps == len(
    data.train_dataloader()) * max_epochs
assert real or data.source == "standin"
assert full_run or train_size < 2560 or compare_size < 800

# %% tags=["rtol=0.1"]
studies = {name: study(make) for name, make in arms.items()}


def report(name):
    runs, best = studies[name]
    print(f"{name:8} rate {rates[best]}: test accuracy",
          [f"{a:.2f}" for a in runs[best, :, 2].tolist()], "training loss",
          [f"{a:.2f}" for a in runs[best, :, 0].tolist()])


for name in studies:
    report(name)

# %% tags=["chaotic", "hide-input"]
def dots():
    """Held-out loss at every rate, test accuracy at the chosen one."""
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    for i, (name, (runs, best)) in enumerate(studies.items()):
        x = torch.tensor(rates) * 1.12 ** (i - 1)  # side by side
        axes[0].plot(x.repeat_interleave(num_seeds), runs[..., 1].flatten(),
                     "os^"[i], alpha=0.7, label=name)
        axes[1].plot(runs[best, :, 2], [i] * num_seeds, "os^"[i], ms=8,
                     alpha=0.7)
    axes[0].set(xscale="log", xlabel="learning rate", ylabel="held-out loss",
                xticks=rates, xticklabels=map(str, rates))
    axes[0].minorticks_off()
    axes[0].legend()
    axes[1].set(xlabel="test accuracy", ylim=(-0.6, len(studies) - 0.4))
    axes[1].set_yticks(range(len(studies)), labels=list(studies))
    return axes


d2l.describe(dots(), """Left, the loss on held-out images at three learning
    rates, a dot for each of three seeds and each network. Right, the test
    accuracy of both at the rate with the lowest mean of that loss.""")
for runs, best in studies.values():
    assert runs.shape == (3, num_seeds, 3) and runs.isfinite().all()
    if full_run and real:
        assert runs[best, :, 2].min() > 0.6  # every network has learned
if full_run and real and compare_epochs == 3:
    found = torch.stack([runs[best, :, 2]
                         for runs, best in studies.values()])
    assert all(best == 1 for _, best in studies.values())  # not at an end
    gap = (found[0].mean() - found[1].mean()).abs()
    assert gap < (found.amax(dim=1) - found.amin(dim=1)).max()

# %% [markdown]
# **Figure 8.7.7.** Dense and residual at equal operations, steps and images; one dot for each seed.
#
# At this size three seeds do not tell the networks apart: at the chosen rates, which do not lie at an end of the grid, the means differ by less than the seeds of one network.
# What differs is the price.
# The dense network has somewhat fewer parameters and keeps nearly twice as much for the backward pass.
# The famous ratio of parameters is gone, and equal operations are only a part of the reason: with four stages, the last output shows, a ResNet with as many operations as our DenseNet still has about six times its parameters.
# Two stages leave out those with four and eight times the first width.
# Thirty-nine steps on 800 images say nothing about long training on ImageNet, where Pleiss and others (2017) report for DenseNet-201 roughly the error of ResNet-101, with half the parameters and half the operations.

# %% [markdown]
# ### Where it went
#
# Concatenation across *scales* is older than DenseNet: U-Net (2015) puts maps of its contracting half beside those of its expanding half, and the pattern is common in segmentation and in diffusion models.
# (Feature pyramids, often named in the same breath, merge scales by adding.)
# Detectors kept the idea in partial form: CSPNet (2019), whose design the detector YOLOv4 took up, sends only a part of the channels through a stage and concatenates the rest at its end.
# As a backbone for classification DenseNet gave way to residual networks.
# Kim and others (2024) argue that this was a matter of recipe and shape: their RDNet keeps concatenation, is wider and shallower, is trained in today's way, and is reported ahead of ConvNeXt and Swin on ImageNet.

# %% [markdown]
# ## Summary
#
# - A dense block concatenates instead of adding: channels grow by $k$ a layer, a block of $L$ layers has $L(L+1)/2$ connections, and transitions bring the channels down.
# - Our DenseNet has about 15 times fewer parameters than ResNet-18 but only 2.5 times fewer operations, and keeps more activations: its weights work at higher resolutions.
# - At equal operations a dense block keeps about $\sqrt{\bar c/k}$ times as much as a residual one; stored naively, the memory is quadratic in the depth, with checkpoints linear.
# - A checkpointed batch normalization counts every batch twice; $m'=1-\sqrt{1-m}$ mends it.
# - In a small trained network the layers need the input of their block and its end needs the maps of all, while the connections between layers count least; the sizes of the weights do not show it, and cutting with zeros exaggerates the needs of the end.
# - At equal operations, images and steps, three seeds do not tell dense and residual networks of our size apart.

# %% [markdown]
# ## Exercises
#
# ### Exercise 8.7-1
#
# Why do transitions average instead of taking the maximum?
# Check which of the two commutes with a 1x1 convolution, with and without ReLU between convolution and pooling, and find two positions for which the maximum does not.

# %% [markdown]
# #### Solution 8.7-1

# %% [markdown]
# Averaging is linear and the same for all channels, so it can be done before the mixing (8.7.4) at a quarter of the cost.
# The maximum is not linear: for two positions $(1,0)$ and $(0,1)$ with the weights $(1,-1)$, mixing gives $1$ and $-1$ with maximum $1$; the maxima of the channels are $(1,1)$, and mixing them gives $0$.
# A ReLU between mixing and pooling breaks the rule for averages; a ReLU before both, as in the transition, does not.
# (Whether a network classifies better with the maximum is another question, which only training answers.)

# %%
def commutes(pool, between):
    """Whether 1x1 convolution and pooling may change places."""
    torch.manual_seed(0)
    conv, X = nn.Conv2d(6, 4, 1), torch.randn(2, 6, 8, 8)
    with torch.no_grad():
        return torch.allclose(pool(between(conv(X))),
                              between(conv(pool(X))), atol=1e-6)


assert commutes(nn.AvgPool2d(2), nn.Identity())
assert not commutes(nn.MaxPool2d(2), nn.Identity())
assert not commutes(nn.AvgPool2d(2), nn.ReLU())
assert not commutes(nn.MaxPool2d(2), nn.ReLU())
two = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # (channels, positions)
w = torch.tensor([1.0, -1.0])
assert (w @ two).max() == 1 and w @ two.amax(dim=1) == 0

# %% [markdown]
# ### Exercise 8.7-2
#
# Derive the number of weights in the convolutions of a dense block.
# Why does DenseNet have fewer parameters than ResNet-18?
# Where do the parameters of both sit?

# %% [markdown]
# #### Solution 8.7-2

# %% [markdown]
# Layer $i$ reads $c_0+ik$ channels, with $i$ from 0, and gives $k$:
#
# $$\sum_{i=0}^{L-1}9k(c_0+ik)=9k\Big(Lc_0+\frac{L(L-1)}2k\Big).$$
#
# With $c_0=64$, $k=32$ and $L=4$ that is 129 024; two 3x3 convolutions with 128 channels, as in a residual block, have 294 912.
# The larger part of the answer is the last stage.
# ResNet-18 doubles its width three times, and three quarters of its parameters sit in the stage with 512 channels; the widths of DenseNet, and with them the parameters of its blocks, stay of the same order.

# %%
def block_weights(c0, k, L):
    return sum(9 * k * (c0 + i * k) for i in range(L))


with torch.device("meta"):
    dense, residual = DenseNet(), ResNet18()
    macs(dense, 96), macs(residual, 96)  # shapes
for block, c0 in zip(dense.net[1::2], (64, 96, 112, 120)):
    convs = sum(part[2].weight.numel() for part in block.net)
    assert convs == block_weights(c0, 32, 4)
assert block_weights(64, 32, 4) == 129_024 and 2 * 9 * 128**2 == 294_912
by_stage = {"dense": [count_params(b) for b in dense.net[1::2]],
            "residual": [count_params(b) for b in residual.net[1:5]]}
for name, counts in by_stage.items():
    print(f"{name:8} {counts}, last / first {counts[-1] / counts[0]:.1f}")
assert 0.74 < by_stage["residual"][-1] / count_params(residual) < 0.76
assert by_stage["dense"][-1] < 2 * by_stage["dense"][0]

# %% [markdown]
# ### Exercise 8.7-3
#
# What does DenseNet-121 keep for the backward pass of one image of 224x224, and what with checkpointed blocks?
# Compare with the sum of what enters its normalizations and leaves its ReLUs, collected by hooks.

# %% [markdown]
# #### Solution 8.7-3

# %% [markdown]
# Each pair of a normalization and a ReLU keeps two tensors, and these are nearly everything.
# A batch of 64 images needs several gigabytes.
# Checkpointing removes most of it; what is left are the maps of the layers and the transitions.

# %%
torch.manual_seed(0)
image = torch.rand(1, 3, 224, 224)
net = apply_init(densenet121(), image)
total = kept(net, image)
seen = []
handles = [m.register_forward_hook(
    lambda m, inputs, output: seen.append(output.numel()))
    for m in net.modules() if isinstance(m, (nn.BatchNorm2d, nn.ReLU))]
with torch.no_grad():
    net(image)
for handle in handles:
    handle.remove()
for i in range(1, 8, 2):  # the same layers in other blocks
    block = CheckpointedDenseBlock(0, 0)
    block.net, net.net[i] = net.net[i].net, block
thrifty = kept(net, image)
print(f"{total * 4 / 1e6:.0f} MB an image, {total * 64 * 4 / 1e9:.1f} GB for "
      f"64; checkpointed {thrifty * 4 / 1e6:.0f} MB an image")
assert 0.95 < sum(seen) / total < 1
assert thrifty < total / 4

# %% [markdown]
# ### Exercise 8.7-4
#
# Build all networks of the paper's table, DenseNet-121, 169, 201 and 264, with growth rate 32, and count their parameters and layers.
# Do the names count correctly?

# %% [markdown]
# #### Solution 8.7-4

# %% [markdown]
# They differ in the last two blocks only, and torchvision's DenseNet-169 and 201 have as many parameters as ours, 14 149 480 and 20 013 928.
# Three names agree with the number of layers with weights.
# The fourth does not: with the blocks of the table, 6, 12, 64 and 48 layers, there are 265.

# %%
archs = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32),
         264: (6, 12, 64, 48)}
params, layers = {}, {}
tiny = torch.zeros(2, 3, 32, 32)  # gives lazy layers their shapes
for name, arch in archs.items():
    net = densenet121(arch=arch)
    net(tiny)
    params[name] = count_params(net)
    layers[name] = sum(isinstance(m, (nn.Conv2d, nn.Linear))
                       for m in net.modules())
    print(f"DenseNet-{name}: {layers[name]} layers, {params[name]:,}")
wide = densenet121(arch=(6, 12, 36, 24), growth_rate=48, num_channels=96)
with torch.no_grad():
    wide(tiny)
assert count_params(wide) == 28_681_000  # torchvision's DenseNet-161
assert (params[169], params[201]) == (14_149_480, 20_013_928)
assert layers == {121: 121, 169: 169, 201: 201, 264: 265}

# %% [markdown]
# ### Exercise 8.7-5
#
# Dense connections need no images.
# Build a perceptron for the house prices of [Section 5.7](../05-multilayer-perceptrons/07-kaggle-house-prices.ipynb) in which each of three hidden layers of 16 units reads the features and all earlier layers.
# Compare it with a plain perceptron of three layers and as many parameters.

# %% [markdown]
# #### Solution 8.7-5

# %% [markdown]
# With $d$ encoded features, growth $k$ and $L$ layers the last layer reads $d+kL$ numbers.
# A plain network of equal size has a first layer of about $kL$ units, which holds nearly all its weights.
# Three networks of each kind train at once (`Stack` of [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb)), on four fifths of the houses, at two learning rates.

# %%
from d2l_helpers.chapters.multilayer_perceptrons import (  # noqa: E402
    KaggleHouse, Stack, TabularPreprocessor, fold_indices, rmsle,
    train_stack)


class DenseMLP(nn.Module):
    """A perceptron whose layers read all that came before: (n, d) -> (n, 1).
    """

    def __init__(self, d, k, L):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(d + i * k, k)
                                    for i in range(L))
        self.out = nn.Linear(d + L * k, 1)

    def forward(self, X):
        for layer in self.hidden:
            X = torch.cat((X, F.relu(layer(X))), dim=-1)
        return self.out(X)


def plain_mlp(d, h, L):
    """A perceptron with L hidden layers of h units each."""
    units = [d] + [h] * L
    hidden = [part for a, b in zip(units, units[1:])
              for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(h, 1))

# %%
house = KaggleHouse()
rows, rest = fold_indices(len(house.features), 5, seed=0)[0]
house.split(TabularPreprocessor(log1p_skewed=True), rows, rest)
(X_in, y_in), (X_out, y_out) = house.train, house.val
center, d = y_in.mean(), X_in.shape[1]
like = count_params(DenseMLP(d, 16, 3))
h = min(range(8, 80), key=lambda h: abs(count_params(plain_mlp(d, h, 3))
                                        - like))
kinds = {"dense": lambda: DenseMLP(d, 16, 3),
         "plain": lambda: plain_mlp(d, h, 3)}
probe = DenseMLP(d, 16, 3)
assert probe.out.in_features == d + 16 * 3
probe(X_in[:8]).sum().backward()
assert all(layer.weight.grad.abs().max() > 0 for layer in probe.hidden)
assert abs(count_params(kinds["plain"]()) / like - 1) < 0.03

# %% tags=["rtol=0.1"]
errors = {}
for rate in (3e-3, 1e-2):
    for name, make in kinds.items():
        torch.manual_seed(0)
        nets = Stack([make() for _ in range(3)])
        optimizer = torch.optim.AdamW(nets.parameters(), lr=rate)
        rng = torch.Generator().manual_seed(0)
        for _ in range(house_epochs):
            order = torch.randperm(len(X_in), generator=rng)
            train_stack(nets, X_in, y_in - center, order.split(64),
                        F.mse_loss, optimizer)
        with torch.no_grad():
            prices = nets(X_out)[..., 0] + center  # (3, houses)
        errors[name, rate] = rmsle(prices, y_out[:, 0])
        print(f"{name}, rate {rate}: RMSE of the log price",
              [f"{e:.3f}" for e in errors[name, rate].tolist()])
if house.source == "real" and house_epochs >= 10:
    baseline = (y_out - center).square().mean().sqrt()
    assert max(e.max() for e in errors.values()) < baseline / 2
    best = [min(errors[name, rate].mean() for rate in (3e-3, 1e-2))
            for name in kinds]
    assert abs(best[0] - best[1]) < 0.01
    assert max(best) < max(e.max() for e in errors.values())  # are means

# %% tags=["hide-input"]
# check: orders drawn anew for each, in the same way; the parts; the ReLU
again = torch.Generator().manual_seed(0)
for _ in range(house_epochs):
    last_order = torch.randperm(len(X_in), generator=again)
assert torch.equal(order, last_order)
assert (len(X_in), len(X_out)) == (len(rows), len(rest))
tiny, Z = DenseMLP(2, 8, 1), torch.randn(6, 2)
inside = torch.cat((Z, F.relu(tiny.hidden[0](Z))), dim=1)
torch.testing.assert_close(tiny(Z), tiny.out(inside))

# %% [markdown]
# Which kind does better depends on the rate here, and their best means lie closer together than the seeds of one kind; three seeds on one split name no winner.

# %% [markdown]
# ### Exercise 8.7-6
#
# The comparison above changed more than concatenation: widths, resolutions, the order of normalization and convolution.
# Build two controls with the same layers: a network in which each layer adds its maps to what it has read, with the widths at which the parameters are equal, and a DenseNet in which each layer reads only the input of its block.

# %% [markdown]
# #### Solution 8.7-6

# %% [markdown]
# Adding needs as many new maps as old ones, so a layer with $c$ channels has $9c^2$ weights instead of $9k(c_0+ik)$.
# In the second control the block is a bundle of parallel layers, and its end still reads all of them.
# Only a line or two of the block changes.

# %%
class AddBlock(DenseBlock):
    """A DenseBlock that adds; all layers have the width of the input."""

    def forward(self, X):
        for part in self.net:
            X = X + part(X)
        return X


class ParallelBlock(DenseBlock):
    """A DenseBlock whose layers all read the input of the block."""

    def forward(self, X):
        return torch.cat((X, *(part(X) for part in self.net)), dim=1)


class AddNet(DenseNet):
    """Stem, blocks of `widths` channels with transitions, and the head."""

    def __init__(self, widths, depth=4):
        super().__init__(arch=(depth,) * len(widths), width=compare_width)
        head, layers = self.net[-1], [self.b1(widths[0])]
        for i, c in enumerate(widths):
            layers += [transition_block(c)] if i else []
            layers.append(AddBlock(depth, c))
        self.net = nn.Sequential(*layers, head)

# %%
# check: one adds nothing if its layers are 0, the other reads the input
block, Z = AddBlock(2, 5), torch.randn(2, 5, 4, 4)
block(Z)
for part in block.net:
    nn.init.zeros_(part[2].weight)
    nn.init.zeros_(part[2].bias)
assert torch.equal(block(Z), Z)  # adds nothing to the input
block, twin = ParallelBlock(2, 3), DenseBlock(2, 3)
assert block(Z).shape == twin(Z).shape == (2, 11, 4, 4)
assert block.net[1][2].in_channels == 5 and twin.net[1][2].in_channels == 8
first, second = block.net
assert torch.equal(block(Z), torch.cat((Z, first(Z), second(Z)), dim=1))

# %%
def parameters_of(make):
    with torch.device("meta"):
        net = make()
        net(torch.zeros(2, 1, 28, 28))
    return count_params(net)


aim = parameters_of(dense_net)
start, growth = scaled(64, compare_width), scaled(32, compare_width)
reads = [start, (start + 4 * growth) // 2]  # by the first layer of a block
a, b = (round((block_weights(c0, growth, 4) / 4 / 9) ** 0.5)
        for c0 in reads)  # 4 * 9 * c**2 weights in a block
tries = [(a + i, b + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
equal = min(tries, key=lambda t: abs(parameters_of(lambda: AddNet(t)) - aim))
share = parameters_of(lambda: AddNet(equal)) / aim
print(f"widths {equal}, {share:.3f} times the parameters")
assert abs(share - 1) < 0.03


def parallel_net():
    """The dense network with bundles for blocks."""
    net = dense_net()
    for i in (1, 3):
        net.net[i] = ParallelBlock(4, growth)
    return net


with torch.device("meta"):
    work = [macs(make(), 28) / goal
            for make in (lambda: AddNet(equal), parallel_net)]
print("operations, relative to dense: add, parallel", [f"{w:.2f}"
                                                       for w in work])
assert 0.9 < work[0] < 1 and work[1] < 0.75

# %% tags=["rtol=0.1"]
studies["add"] = study(lambda: AddNet(equal))
for name in studies:
    report(name)
rate = rates[studies["dense"][1]]  # the best for dense, not for parallel
bundle = torch.tensor([run(parallel_net, rate, seed)
                       for seed in range(num_seeds)])
print(f"parallel rate {rate}: test accuracy",
      [f"{a:.2f}" for a in bundle[:, 2].tolist()], "training loss",
      [f"{a:.2f}" for a in bundle[:, 0].tolist()])

# %% tags=["chaotic"]
d2l.describe(dots(), """The same two panels with a third network, the one
    that adds.""")
mean = {name: runs[best].mean(dim=0)  # loss, held-out loss, accuracy
        for name, (runs, best) in studies.items()}
if full_run and real and compare_epochs == 3:
    assert mean["dense"][0] < mean["add"][0] - 0.03
    assert mean["dense"][2] > mean["add"][2] + 0.01
    assert bundle[:, 2].mean() > mean["dense"][2] - 0.02

# %% [markdown]
# With addition, the layers and their order are equal, and the parameters and operations nearly; what differs is adding or concatenating, and the widths that follow from it.
# In this run concatenation has the lower training loss and the higher test accuracy in the mean of three seeds.
# That does not say *why*: the adding network is also narrower where a block ends.
# And it does not carry over to ResNet, whose branches hold two convolutions with normalizations of their own: three seeds did not tell that one and the dense network apart.
#
# Three seeds do not tell the bundle from the dense network in accuracy, although its learning rate was chosen for the latter and it does less than three quarters of the operations.
# This agrees with the cuts above: three seeds show no gain from layers that read each other.
# Whether the end of a block needs all their maps is not tested, since both networks give it all of them.
# The blocks have only four layers; those of DenseNet-121 have up to 24, and nothing here says that they could do without.

# %% [markdown]
# ## Sources
#
# - S. E. Fahlman and C. Lebiere, The cascade-correlation learning architecture, NIPS 2, 1989: every new unit reads the inputs and all earlier units.
# - G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, Densely connected convolutional networks, 2016, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993): dense blocks, DenseNet-BC, the table of networks, feature reuse and the picture of weights by source.
# - G. Pleiss et al., Memory-efficient implementation of DenseNets, 2017, [arXiv:1707.06990](https://arxiv.org/abs/1707.06990): from quadratic to linear memory.
# - D. Kim, B. Heo and D. Han, DenseNets reloaded: paradigm shift beyond ResNets and ViTs, 2024, [arXiv:2403.19588](https://arxiv.org/abs/2403.19588): RDNet.
# - O. Ronneberger, P. Fischer and T. Brox, U-Net, 2015, [arXiv:1505.04597](https://arxiv.org/abs/1505.04597): concatenation across scales.
# - T.-Y. Lin et al., Feature pyramid networks for object detection, 2016, [arXiv:1612.03144](https://arxiv.org/abs/1612.03144): scales merged by addition.
# - C.-Y. Wang et al., CSPNet, 2019, [arXiv:1911.11929](https://arxiv.org/abs/1911.11929).
# - [PyTorch issue 96136](https://github.com/pytorch/pytorch/issues/96136): checkpointing updates the statistics of batch normalization twice.
