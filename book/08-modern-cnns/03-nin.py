# ---
# jupyter:
#   d2l:
#     data: [fashion-mnist]
#     profiles:
#       gpu:
#         image_size: 224
#         width: 1.0
#         train_size: 60000
#         batch_size: 128
#         max_epochs: 10
#         long_epochs: 10
#         compare_size: 60000
#         compare_batch: 128
#         compare_epochs: 10
#         val_size: 10000
#         num_gpus: 1
#       smoke:
#         train_size: 200
#         max_epochs: 1
#         long_epochs: 2
#         compare_size: 200
#         compare_epochs: 1
#         num_seeds: 2
#     rehearsal:
#       image_size: 0.33
#       width: 0.125
#       train_size: 0.03
#       batch_size: 0.25
#       max_epochs: 0.1
#       long_epochs: 0.2
#       compare_size: 0.03
#       compare_batch: 0.25
#       compare_epochs: 0.2
#       val_size: 0.1
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
# # 8.3 Network in network (NiN)
#
# Nine tenths of the parameters of AlexNet and VGG sit in the dense layers at their ends.
# Are these layers needed?
# A paper of 2013 did without them: it put small networks inside the convolutions and a plain average at the end, and from GoogLeNet on most well-known convolutional classifiers have averaged before their last layer or after it.
#
# **You will**
#
# - use $1\times1$ convolutions as small dense networks, the same at every pixel, and prove it by an equality;
# - replace a dense head by a global average, and count what that saves;
# - predict from the initialization why a network of this kind may be slow to start, and make it start sooner;
# - read a map of evidence for each class off the network, and measure what the average costs and what it gives when images move.
#
# **Cost**: about a minute on a CPU; the profile `gpu` trains on all images, enlarged to 224 pixels; a download of 31 MB, once.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import apply_init, count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    conv_out, count_macs, init_cnn, init_he, layer_summary)
from d2l_helpers.chapters.linear_classification import (
    Classifier, FashionMNIST, predict)
from d2l_helpers.chapters.modern_cnns import (
    VGG, VGG11, AlexNet, AugmentedFashionMNIST, cost_table, fit_quietly,
    scaled)

d2l.use_style()

# %% tags=["parameters"]
image_size = 67  # of the network with AlexNet's geometry
width = 0.125  # times its full channels
train_size = 3000
batch_size = 32
max_epochs = 2
long_epochs = 4  # of the runs that are slow to start
compare_size = 1600  # images of the networks for 28 x 28 pixels
compare_batch = 32
compare_epochs = 3
val_size = 1000
num_seeds = 3
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% [markdown]
# ## Two problems, two answers
#
# LeNet, AlexNet and VGG share a plan: convolutions, then a few dense layers.
# It has two weaknesses.
#
# First, size.
# The first dense layer has a weight for each unit and each position of each map.
# In VGG-11 this one matrix takes more than 400 MB in single precision ([Section 8.2](02-vgg.ipynb)), a heavy load for a phone.
#
# Second, place.
# A dense layer mixes all positions, so the grid is gone behind it; it cannot be used early, when one wants more nonlinearity *and* the grid.
#
# Min Lin, Qiang Chen and Shuicheng Yan answered both in 2013:
#
# - between ordinary convolutions they put $1\times1$ convolutions, each with an activation. They compute across channels, at each pixel for itself, and leave the grid alone;
# - at the end they let the last block have as many channels as there are classes and *averaged* each channel over all positions. The averages are the scores, and no dense layer is left.
#
# ![Four stacks of boxes from bottom to top. The VGG block: two 3 by 3 convolutions and 2 by 2 maximum pooling. The NiN block: one convolution of any size and two 1 by 1 convolutions. VGG-11: five VGG blocks and three dense layers. NiN: blocks of 11 by 11, 5 by 5 and 3 by 3, each followed by 3 by 3 maximum pooling, then a block with ten maps and a global average.](img/nin-blocks.svg)
#
# **Figure 8.3.1.** Blocks and heads of VGG and NiN.

# %% [markdown]
# ## A network inside the convolution
#
# A $1\times1$ convolution ([Section 7.4](../07-convolutional-neural-networks/04-channels.ipynb)) from $c_{\mathrm{i}}$ to $c_{\mathrm{o}}$ channels computes at each pixel $(i,j)$
#
# $$\mathbf{h}_{ij}=\mathbf{W}\mathbf{x}_{ij}+\mathbf{b}, \tag{8.3.1}$$
#
# where $\mathbf{x}_{ij}\in\mathbb{R}^{c_{\mathrm{i}}}$ holds the channels of the pixel, $\mathbf{W}\in\mathbb{R}^{c_{\mathrm{o}}\times c_{\mathrm{i}}}$ and $\mathbf{b}\in\mathbb{R}^{c_{\mathrm{o}}}$ are the same for all pixels, and $\mathbf{h}_{ij}\in\mathbb{R}^{c_{\mathrm{o}}}$ is the result.
# That is a dense layer, applied pixel by pixel.
# For $\mathbf{x}_{ij}=(1,2)^\top$, $\mathbf{W}=(3,-1)$ and $\mathbf{b}=(0.5)$ the result is $3-2+0.5=1.5$, wherever the pixel lies.

# %%
# check 8.3-C3: a 1x1 convolution is a dense layer at each pixel
torch.manual_seed(0)
X = torch.randn(2, 5, 4, 3)  # (n, c_i, h, w)
pixelwise, dense = nn.Conv2d(5, 7, kernel_size=1), nn.Linear(5, 7)
with torch.no_grad():
    dense.weight.copy_(pixelwise.weight[:, :, 0, 0])  # (c_o, c_i)
    dense.bias.copy_(pixelwise.bias)
    by_pixel = dense(X.permute(0, 2, 3, 1))  # channels last: (n, h, w, c_o)
    torch.testing.assert_close(pixelwise(X), by_pixel.permute(0, 3, 1, 2))
    pixelwise.weight[0], pixelwise.bias[0] = 0, 0.5  # the example above
    pixelwise.weight[0, :2, 0, 0] = torch.tensor([3.0, -1.0])
    value = pixelwise(torch.tensor([1.0, 2, 0, 0, 0]).view(1, 5, 1, 1))
assert value[0, 0, 0, 0] == 1.5

# %% [markdown]
# A convolution followed by two such layers, each with ReLU, is a perceptron that slides over the image: its first layer looks at a $k\times k$ patch, the other two at what the first one found there.
# Hence the name, *network in network*.

# %% tags=["export"]
def nin_block(out_channels, kernel_size, strides, padding, last_relu=True):
    """A convolution and two 1x1 convolutions, each followed by ReLU.

    `last_relu=False` leaves out the last of the three activations.
    """
    layers = [
        nn.LazyConv2d(out_channels, kernel_size, strides, padding),
        nn.ReLU(),
        nn.LazyConv2d(out_channels, kernel_size=1), nn.ReLU(),
        nn.LazyConv2d(out_channels, kernel_size=1)]
    return nn.Sequential(*layers, *([nn.ReLU()] if last_relu else []))

# %% [markdown]
# ## An average at the end
#
# *Global average pooling* takes maps $\mathbf{A}_d\in\mathbb{R}^{h\times w}$, one for each class $d$, to the scores
#
# $$o_d=\frac1{hw}\sum_{i=1}^h\sum_{j=1}^w A_d(i,j). \tag{8.3.2}$$
#
# It has no parameters, and it takes maps of any size.
# It also commutes with a linear map over the channels: both are sums, and their order does not matter.
# A $1\times1$ convolution before the average and a dense layer behind it are the same function.
# The first form is NiN's, the second that of [ResNet](06-resnet.ipynb) and most later networks.

# %%
# check 8.3-C4: average, then linear = linear at each pixel, then average
with torch.no_grad():
    average_first = dense(X.mean(dim=(2, 3)))  # (n, 7)
    linear_first = dense(X.permute(0, 2, 3, 1)).mean(dim=(1, 2))
    torch.testing.assert_close(average_first, linear_first)
    bent = dense(X.permute(0, 2, 3, 1)).relu().mean(dim=(1, 2))
assert (bent - average_first.relu()).abs().max() > 0.1  # not with ReLU

# %% [markdown]
# ## The model
#
# The networks of the paper are three such blocks for small pictures, of $32\times32$ pixels and less.
# For larger ones a later form is the usual one, and it is ours: it takes the kernels of [AlexNet](01-alexnet.ipynb), $11\times11$ with stride 4, $5\times5$ and $3\times3$, with 96, 256 and 384 channels, each in a NiN block and each followed by $3\times3$ maximum pooling with stride 2.
# Then come dropout, a block with ten channels, and the average.
#
# Many implementations end the last block with a ReLU, like the others.
# The scores are then averages of nonnegative numbers, and a class whose map is 0 everywhere sends no gradient back, as we shall see.
# So the class below makes this ReLU an option that is off by default.

# %% tags=["export"]
class NiN(Classifier):
    """Network in network; returns scores (n, num_classes).

    The input is (n, channels, h, w) with h and w of at least 67; `width`
    multiplies the channels of all blocks but the last, which has one
    channel for each class. `final_relu` puts a ReLU before the average.
    """

    def __init__(self, lr=0.05, num_classes=10, width=1.0,
                 final_relu=False):
        super().__init__()
        self.save_hyperparameters()
        c1, c2, c3 = (scaled(c, width) for c in (96, 256, 384))
        self.net = nn.Sequential(
            nin_block(c1, kernel_size=11, strides=4, padding=0),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nin_block(c2, kernel_size=5, strides=1, padding=2),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nin_block(c3, kernel_size=3, strides=1, padding=1),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Dropout(0.5),
            nin_block(num_classes, kernel_size=3, strides=1, padding=1,
                      last_relu=final_relu),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten())

# %%
torch.manual_seed(0)
model = NiN()
summary = layer_summary(model.net, (1, 1, 224, 224))
for name, shape in summary:
    print(f"{name:18s} {shape[1:]}")

# %%
# check 8.3-C1: the shapes, the first from the rule of Section 7.3
assert conv_out(224, 11, stride=4) == 54
assert [shape[1:] for _, shape in summary] == [
    (96, 54, 54), (96, 26, 26), (256, 26, 26), (256, 12, 12),
    (384, 12, 12), (384, 5, 5), (384, 5, 5), (10, 5, 5), (10, 1, 1), (10,)]
assert [name for name, _ in summary[:7]] == [
    "Sequential", "MaxPool2d"] * 3 + ["Dropout"] and model.net[6].p == 0.5
assert not isinstance(model.net[7][-1], nn.ReLU)
assert isinstance(NiN(final_relu=True).net[7][-1], nn.ReLU)

# %% [markdown]
# Parameters and multiply-accumulates of the three networks, for $224\times224$ grey images and ten classes, are counted on the device `meta`, which costs nothing:

# %%
def costs(make, shape=(1, 1, 224, 224)):
    """(body, head, MACs): parameters outside and inside dense layers."""
    with torch.device("meta"):
        net = make()
        macs = sum(count_macs(net, shape).values())
    head = sum(count_params(part) for part in net.modules()
               if isinstance(part, nn.Linear))
    return count_params(net) - head, head, macs


table = {"AlexNet": costs(AlexNet), "VGG-11": costs(lambda: VGG(VGG11)),
         "NiN": costs(NiN)}
for name, (body, head, macs) in table.items():
    print(f"{name:8s} body {body:10,d}  dense {head:11,d}  MACs {macs:,d}")

# %%
# check 8.3-C2: two million parameters, none of them in a dense layer
assert count_params(model) == table["NiN"][0] == 1_992_166
assert table["NiN"][1] == 0 and table["NiN"][2] == 762_297_352
ratio = sum(table["AlexNet"][:2]) / 1_992_166
assert abs(ratio - 23.5) < 0.05
for name in ("AlexNet", "VGG-11"):
    assert 0.9 < table[name][1] / sum(table[name][:2]) < 0.95
with torch.device("meta"):
    vgg = VGG(VGG11).net
    layer_summary(vgg, (1, 1, 224, 224))  # gives the layers their shapes
first = next(part for part in vgg.modules() if isinstance(part, nn.Linear))
assert 4e8 < first.weight.nbytes < 4.2e8  # more than 400 MB
assert costs(lambda: NiN(width=1 / 4))[0] == 133_798
assert costs(lambda: NiN(num_classes=7))[0] == (  # the last block
    1_992_166 - 3 * (9 * 384 + 1) - 2 * (110 - 56))

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(7, 2.3), sharey=True)
names = list(table)[::-1]
body, head, macs = (torch.tensor([table[name][i] for name in names])
                    for i in range(3))
axes[0].barh(names, body / 1e6, label="convolutions")
axes[0].barh(names, head / 1e6, left=body / 1e6, color="C1", hatch="//",
             ec="white", label="dense layers")
axes[0].set(xlabel="million parameters")
axes[0].legend()
axes[1].barh(names, macs / 1e9, color="C2")
axes[1].set(xlabel="billion multiply-accumulates")
d2l.describe(axes, """Bars for AlexNet, VGG-11 and NiN. Nearly all parameters
    of the first two are in dense layers; the bar of NiN is a sliver. In
    multiply-accumulates NiN is close to AlexNet, and VGG-11 needs eight
    times as many.""")

# %% [markdown]
# **Figure 8.3.2.** NiN has a fraction of the parameters of AlexNet and VGG-11; in operations it is near AlexNet.
# What is saved by leaving out the dense head is memory for weights; it would have added few operations.
#
# With the dense head a further tie is gone: that to one input size.
# Any image will do that leaves at least one position behind the last pooling.

# %%
# check 8.3-C7: one network, several sizes; 67 pixels are the least
small = NiN(width=1 / 16).eval()
with torch.no_grad():
    for size in (224, 256, 300, 67):
        assert small(torch.rand(1, 1, size, size)).shape == (1, 10)
try:
    small(torch.rand(1, 1, 66, 67))
    raise AssertionError("an image of 66 rows was accepted")
except RuntimeError:
    pass
rest = [conv_out(conv_out(conv_out(conv_out(size, 11, stride=4), 3,
                 stride=2), 3, stride=2), 3, stride=2) for size in (67, 72)]
assert rest == [1, 1]  # positions behind the last pooling

# %% [markdown]
# ## Why it may be slow to start
#
# A network of this kind may sit for a long time at a loss of $\log10\approx2.303$, that of equal scores for all classes.
# The initialization shows why to expect it.
#
# Let a convolution with zero biases have independent weights, distributed symmetrically about 0, with variance $\sigma^2$, $c_{\mathrm{i}}$ input and $c_{\mathrm{o}}$ output channels and a $k\times k$ kernel that lies inside the image.
# As in [Section 5.4](../05-multilayer-perceptrons/04-numerical-stability-and-initialization.ipynb), the expected second moment of its output $z$ is that of its input $x$ times $k^2c_{\mathrm{i}}\sigma^2$, if the second moment is the same over the window.
# Then $z$ is symmetric about 0 too, and ReLU keeps half of it.
# Xavier's variance $\sigma^2=2/(k^2c_{\mathrm{i}}+k^2c_{\mathrm{o}})$ therefore gives
#
# $$\frac{E[\operatorname{ReLU}(z)^2]}{E[x^2]}=\frac12\,k^2c_{\mathrm{i}}\,\sigma^2=\frac{c_{\mathrm{i}}}{c_{\mathrm{i}}+c_{\mathrm{o}}}, \tag{8.3.3}$$
#
# and He's $\sigma^2=2/(k^2c_{\mathrm{i}})$ gives 1.
# For the eight $1\times1$ layers, where $c_{\mathrm{i}}=c_{\mathrm{o}}$, Xavier's factor is $\frac12$; for the first layer, from 1 to 96 channels, it is $\frac1{97}$.
# The next cell measures it, at full width.

# %% tags=["rtol=0.1"]
data = FashionMNIST(batch_size=batch_size, train_size=train_size,
                    val_size=min(val_size, 50),
                    resize=(image_size, image_size))
real = data.source == "real"
full_run = train_size >= 3000 and compare_size >= 1600  # not smoke
laptop = full_run and train_size < 60_000  # the sizes of the profile cpu
probe = F.interpolate(data.X_train[:16], size=72)  # (16, 1, 72, 72)


def init_xavier(module):
    """Xavier's weights and, as `init_he` has them, zero biases."""
    init_cnn(module)
    if isinstance(module, nn.Conv2d):
        nn.init.zeros_(module.bias)


def second_moments(init, seed):
    """Second moment behind each of the twelve layers, over the input's."""
    torch.manual_seed(seed)
    net, moments = apply_init(NiN(final_relu=True), probe, init).eval(), []
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(lambda *call: moments.append(
                call[2].square().mean()))  # call: layer, inputs, output
    with torch.no_grad():
        net(probe)
    return torch.stack(moments) / probe.square().mean()  # (12,)


moments = {name: torch.stack([second_moments(init, seed)
                              for seed in range(num_seeds)])
           for name, init in (("Xavier", init_xavier), ("He", init_he))}
channels = [1, 96, 96, 96, 256, 256, 256, 384, 384, 384, 10, 10, 10]
factors = [a / (a + b) for a, b in zip(channels[:-1], channels[1:])]
for name, values in moments.items():
    ratio = (values[:, 4] / values[:, 3]).mean()  # a 1x1 layer
    print(f"{name}: a 1x1 layer keeps {ratio:.2f} of the second moment; "
          f"{values[:, -1].median():.1e} is left at the end")

# %%
# check: a 1x1 layer keeps a half (Xavier) or all (He), on average
ones = [i for i in range(9) if i % 3]  # those with many channels
for name, kept in (("Xavier", 0.5), ("He", 1.0)):
    ratios = moments[name][:, ones] / moments[name][:, [i - 1 for i in ones]]
    assert abs(ratios.mean() / kept - 1) < 0.15
first = moments["Xavier"][:, 0].mean()  # from 1 channel to 96
assert abs(first / factors[0] - 1) < 0.5
assert len(set(moments["He"][:, 0].tolist())) == num_seeds
assert moments["He"].min() > 1e-3 and moments["Xavier"][:, -1].max() < 1e-5
assert (len(data.y_train), len(data.y_val)) == (train_size, min(val_size, 50))
assert real or data.source == "standin"
assert full_run or train_size < 3000 or compare_size < 1600
assert laptop or not full_run or train_size >= 60_000

# %% [markdown]
# On average the $1\times1$ layers behave as predicted.
# With Xavier's weights less than a hundred-thousandth of the second moment arrives, so all scores are near 0, whatever the image.
# (The formula leaves out pooling, padding and the differences between the windows of an image: the other layers follow it only roughly.)
#
# Does it matter for training?
# On a laptop we train with an eighth of the channels; there (8.3.3) predicts a few times more at the end than at full width, and still very little.
# We train with the plain SGD of the usual recipe, learning rate 0.05, from both initializations, and with He's weights also with the final ReLU; and from Xavier's weights with AdamW, whose step hardly depends on the scale of the gradient.
# All arms see the same images in the same order, from three seeds; the first arm goes on for longer than the others.

# %%
def sgd(params):
    return torch.optim.SGD(params, lr=0.05)


def adamw(params):
    return torch.optim.AdamW(params, lr=2e-3)


arms = {"Xavier, SGD": (init_xavier, False, sgd),
        "He, SGD": (init_he, False, sgd),
        "He, final ReLU, SGD": (init_he, True, sgd),
        "Xavier, AdamW": (init_xavier, False, adamw)}
curves, losses, starts = {}, {}, {}  # starts tell first weights apart
for name, (init, final_relu, optimizer) in arms.items():
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        net = apply_init(NiN(width=width, final_relu=final_relu),
                         data.X_train[:1], init)
        starts.setdefault(name, []).append(net.net[0][0].weight.sum().item())
        net.plot_train_per_epoch = 6
        epochs = long_epochs if name == "Xavier, SGD" else max_epochs
        history = fit_quietly(net, data, epochs, optimizer, seed, num_gpus)
        curves.setdefault(name, []).append(net.board.data["train_loss"])
        losses.setdefault(name, []).append(history["train_loss"])

# %% tags=["rtol=0.3", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.9))
for (name, values), style in zip(moments.items(), ("-o", "--s")):
    axes[0].plot(range(1, 13), values.median(dim=0).values, style, ms=4,
                 label=name)
axes[0].plot(range(1, 13), torch.tensor(factors).cumprod(0), ":k",
             label="(8.3.3), Xavier")
axes[0].set(xlabel="layer", ylabel="second moment", yscale="log",
            xticks=range(1, 13, 2))
axes[0].legend(fontsize=8)
for i, (name, runs) in enumerate(curves.items()):
    for j, run in enumerate(runs):
        axes[1].plot(*zip(*run), ("-", "--", "-.", ":")[i], color=f"C{i}",
                     label="" if j else name)
axes[1].axhline(math.log(10), color="#888888", lw=0.8)
axes[1].set(xlabel="epoch", ylabel="training loss")
axes[1].legend(fontsize=8)
d2l.describe(axes, """Left, on a logarithmic axis, the second moment behind
    each of twelve layers: with Xavier's weights it falls by many powers of
    ten, near the prediction; with He's it stays within a few. Right, loss
    against epoch: with SGD and Xavier's weights all runs stay at log 10
    for two epochs and leave it later; with He's they leave it sooner, with
    and without a final ReLU; so they do with AdamW from Xavier's weights.""")

# %% [markdown]
# **Figure 8.3.3.** Left: the second moment on its way through NiN (median over the seeds), and the prediction (8.3.3).
# Right: training loss, three seeds each; from Xavier's weights SGD was run for longer.

# %% tags=["rtol=0.3"]
equal = {name: [run[max_epochs - 1] for run in runs]
         for name, runs in losses.items()}  # after equal steps
longer = [run[-1] for run in losses["Xavier, SGD"]]
for name, values in (*equal.items(), ("Xavier, SGD, longer", longer)):
    print(f"{name:20s}", " ".join(f"{value:.2f}" for value in values))
every = [loss for values in equal.values() for loss in values]
assert len(set(every)) == len(every)  # no two runs are the same
if laptop and real:  # mean loss of an epoch
    plateau = math.log(10) - 0.02
    assert min(equal["Xavier, SGD"]) > plateau
    assert max(equal["Xavier, SGD"]) < math.log(10) + 0.02
    assert max(equal["He, SGD"]) < plateau
    assert max(equal["Xavier, AdamW"]) < plateau - 0.1
    assert sorted(longer)[len(longer) // 2] < plateau  # most have left

# %% [markdown]
# After two epochs of SGD at 0.05, the runs from Xavier's weights are still on the plateau, from every seed, and those from He's have left it; only the initial weights differ.
# AdamW has left it from Xavier's weights too, so at these learning rates the plateau belongs to the pair of SGD and Xavier; [Section 8.2](02-vgg.ipynb) found the same for a narrow VGG at the rate 0.02, but at 0.05 its one run from He's weights ended on the plateau as well.
# But a plateau is not an end: in the epochs that follow, SGD leaves it from Xavier's weights as well, in most of the runs, and not from each seed at the same time.
# What the better start buys here is time.
# A third remedy is normalization ([Section 8.5](05-batch-norm.ipynb)).
# About the final ReLU these runs say less: its losses overlap with those of the runs without it, and we assert no order.
#
# What the final ReLU does to a *single* class is exact.
# If the bias of a class pushes its map, before this ReLU, below 0 at all positions of all images, its score is 0 for every image, and its own weights in the last layer get no gradient.
# What can bring it back must come from elsewhere: weight decay, momentum from earlier steps, or a change that the other classes cause in the layers below.

# %%
# check 8.3-C6: with a final ReLU no negative score, and a class may be dead
batch, labels = data.X_train[:16], data.y_train[:16]
k = labels[0].item()  # a class that occurs
gradients = {}
for final_relu in (True, False):
    torch.manual_seed(0)
    net = apply_init(NiN(width=width, final_relu=final_relu), batch, init_he)
    last = [part for part in net.modules() if isinstance(part, nn.Conv2d)][-1]
    scores = net.eval()(batch)
    assert (scores >= 0).all() == final_relu
    nn.init.constant_(last.bias[k:k + 1], -100)  # class k is forced down
    scores = net(batch)
    assert not (final_relu and scores[:, k].any())
    net.loss(scores, labels).backward()
    gradients[final_relu] = (last.weight.grad[k].abs().sum()
                             + last.bias.grad[k].abs()).item()
assert gradients[True] == 0 < gradients[False]
# check: seeds start anew, the same weights with and without a final ReLU
assert all(len(set(values)) == num_seeds for values in starts.values())
assert starts["He, SGD"] == starts["He, final ReLU, SGD"]
assert [final_relu for _, final_relu, _ in arms.values()] == [
    False, False, True, False]

# %% [markdown]
# ## Where is the evidence?
#
# Equation (8.3.2) can be read backwards.
# The score is the mean of its map, so $A_d(i,j)/(hw)$ is the part of it that position $(i,j)$ contributes.
# Lin and others already looked at these maps; Zhou and others (2016) drew them for networks with an average and one dense layer and named them *class activation maps*.

# %% tags=["export"]
def class_activation_map(net, X):
    """Maps (n, classes, h, w) whose means are the scores of `net`.

    `net` is an nn.Sequential that ends with global average pooling and
    nn.Flatten, X a batch (n, c, H, W). Runs in evaluation mode, without
    gradients, and leaves the modes of `net` as they were.
    """
    *body, pool, flatten = net
    if not (isinstance(pool, nn.AdaptiveAvgPool2d)
            and pool.output_size in (1, (1, 1))
            and isinstance(flatten, nn.Flatten)):
        raise ValueError("the network must end with AdaptiveAvgPool2d(1) "
                         f"and Flatten, not with {pool} and {flatten}.")
    modes = {module: module.training for module in net.modules()}
    net.eval()
    with torch.no_grad():
        for layer in body:
            X = layer(X)
    for module, training in modes.items():
        module.training = training
    return X

# %%
# check 8.3-C5: the mean of a class's map is its score
net = NiN(width=width).net
net[6].p = 0.9  # dropout would be seen
images = torch.rand(2, 1, 224, 224)
maps = class_activation_map(net, images)  # (2, 10, 5, 5)
assert all(part.training for part in net.modules())
assert not maps.requires_grad
net[6].eval()  # one layer in another mode
torch.testing.assert_close(class_activation_map(net, images), maps)
assert net.training and not net[6].training
assert maps.shape == (2, 10, 5, 5) and maps.std(dim=(2, 3)).min() > 0
torch.testing.assert_close(maps.mean(dim=(2, 3)), net.eval()(images))
for end in ((nn.ReLU(), nn.Flatten()), (nn.AdaptiveAvgPool2d(2), nn.Flatten()),
            (nn.AdaptiveAvgPool2d(1), nn.ReLU())):
    try:
        class_activation_map(nn.Sequential(*end), images)
    except ValueError as error:
        assert str(end[0]) in str(error) and str(end[1]) in str(error)
    else:
        raise AssertionError(f"a network that ends with {end} was accepted")

# %% [markdown]
# For this the image must be large enough to leave several positions.
# At $67\times67$ AlexNet's geometry leaves one: *there the average has nothing to average*, and all that has been said about its virtues does not apply.
# So from here on we use a NiN for images of $28\times28$ that keeps $7\times7$ positions, with three heads that we want to compare.
# All sit on the same 48 maps:
#
# - *average*: a $1\times1$ convolution to ten maps, and their average;
# - *flat*: one dense layer on the flattened maps. It differs from the first head only in this, that each position has weights of its own;
# - *dense*: two dense layers with ReLU between them, as in AlexNet, narrower.

# %%
class SmallNiN(Classifier):
    """Three NiN blocks for 28 x 28 images, and a head."""

    def __init__(self, head, hidden=128):
        super().__init__()
        heads = {
            "average": [nn.LazyConv2d(10, 1), nn.AdaptiveAvgPool2d(1),
                        nn.Flatten()],
            "flat": [nn.Flatten(), nn.LazyLinear(10)],
            "dense": [nn.Flatten(), nn.LazyLinear(hidden), nn.ReLU(),
                      nn.LazyLinear(10)]}
        self.net = nn.Sequential(
            nin_block(16, kernel_size=5, strides=2, padding=2),
            nn.MaxPool2d(3, stride=2, padding=1),  # (n, 16, 7, 7)
            nin_block(32, kernel_size=3, strides=1, padding=1),
            nin_block(48, kernel_size=3, strides=1, padding=1),
            *heads[head])


small_data, moved_data = (
    kind(batch_size=compare_batch, train_size=compare_size,
         val_size=min(val_size, 50))
    for kind in (FashionMNIST, AugmentedFashionMNIST))


def trained(head, seed, data=small_data, epochs=compare_epochs):
    """A trained network; `seed` sets its weights and the order."""
    net = apply_init(SmallNiN(head), data.X_train[:1])  # shapes first:
    torch.manual_seed(seed)  # now all heads have the same body
    net.apply(init_he)
    if epochs:
        fit_quietly(net, data, epochs, adamw, seed, num_gpus)
    return net.cpu()


heads = ("average", "flat", "dense")
nets = {(head, seed): trained(head, seed) for head in heads
        for seed in range(num_seeds)}

# %% tags=["hide-input"]
# check: a seed gives all heads one body; other seeds give others
starts = [trained(head, seed, epochs=0).net[3][0].weight for head, seed
          in (("flat", 1), ("average", 1), ("dense", 1), ("average", 2))]
assert torch.equal(*starts[:2]) and torch.equal(*starts[1:3])
assert not torch.equal(*starts[2:])
for images in (small_data, moved_data):
    assert (len(images.y_train), len(images.y_val)) == (
        compare_size, min(val_size, 50))

# %% tags=["chaotic", "hide-input"]
test = FashionMNIST(train_size=1, val_size=val_size)
scores, labels = predict(nets["average", 0], test.val_dataloader())
kinds = (0, 1, 7, 8)  # t-shirt, trouser, sneaker, bag
chosen = torch.stack([(labels == k).nonzero()[0, 0] for k in kinds])
X = test.X_val[chosen]  # (4, 1, 28, 28)
maps = class_activation_map(nets["average", 0].net, X)  # (4, 10, 7, 7)
maps = maps - maps.mean(dim=1, keepdim=True)  # above the mean class
own = torch.stack([maps[i, k] for i, k in enumerate(kinds)])  # (4, 7, 7)
fig, axes = plt.subplots(2, 4, figsize=(6.4, 3.4))
top = own.abs().max().item()
for i, k in enumerate(kinds):
    axes[0, i].imshow(X[i, 0], cmap="gray", vmin=0, vmax=1)
    axes[0, i].set_title(test.text_labels([k])[0], fontsize=9)
    shown = axes[1, i].imshow(own[i], cmap="RdBu_r", vmin=-top, vmax=top)
for ax in axes.flat:
    ax.set_xticks([])
    ax.set_yticks([])
fig.colorbar(shown, ax=axes, shrink=0.8, label="map minus mean map")
above = scores[chosen] - scores[chosen].mean(dim=1, keepdim=True)
torch.testing.assert_close(own.mean(dim=(1, 2)),
                           above[torch.arange(4), list(kinds)],
                           rtol=1e-3, atol=1e-3)
d2l.describe(fig, """Above, four garments: t-shirt, trouser, sneaker, bag.
    Below, the map of the class of each, minus the mean of the ten maps,
    as 7 by 7 cells: red where it is above this mean, blue where it is
    below. The red is strongest in a part of each image.""")

# %% [markdown]
# **Figure 8.3.4.** Four garments, and the map of the right class minus the mean of the ten maps: red cells raise the score of this class above the mean score, blue ones lower it.
#
# Softmax sees only differences between scores, so a cell that is large in all ten maps decides nothing; hence the mean is subtracted.
# Such a map is exact bookkeeping for (8.3.2) and no more.
# Each of its cells has seen a window much larger than itself, padding included, so red does not mean that this piece of cloth is the cause.
# For networks with other heads there is Grad-CAM, which weights maps with gradients; some other methods of that kind give similar pictures for random weights (Adebayo and others, 2018).

# %% [markdown]
# ## What the average buys, and what it costs
#
# The nine networks above are the comparison: same body, same 1600 images, same 3 epochs in the same order, AdamW at the same rate, three seeds; only the head differs.
# We count, and we measure the accuracy on test images, also when these are moved to the right, which no network has seen in training.

# %%
def shift(X, k):
    """Images (n, c, h, w) moved right by k pixels, zeros moved in."""
    return F.pad(X, (k, 0))[..., :X.shape[-1]]


def accuracy(net, X, y=test.y_val):
    scores, _ = predict(net, zip(X.split(500), y.split(500)))
    return (scores.argmax(dim=1) == y).float().mean().item()


shifts = (0, 2, 4, 6)
by_shift = {key: [accuracy(net, shift(test.X_val, k)) for k in shifts]
            for key, net in nets.items()}
numbers = {}
for head in heads:
    net = nets[head, 0]
    numbers[head] = (count_params(net),
                     sum(count_macs(net, (1, 1, 28, 28)).values()))
    print(f"{head}: {numbers[head][0]:,d} parameters, "
          f"{numbers[head][1]:,d} multiply-accumulates")

# %%
# head and body, by hand
body = count_params(nets["average", 0].net[:4])
assert numbers["average"][0] - body == 48 * 10 + 10
assert numbers["flat"][0] - body == 48 * 49 * 10 + 10
assert numbers["flat"][1] == numbers["average"][1]  # operations
assert numbers["dense"][0] - body == 128 * (48 * 49 + 1) + 10 * 129
assert numbers["dense"][1] - numbers["average"][1] == (
    128 * 48 * 49 + 10 * 128 - 10 * 48 * 49)
assert torch.equal(shift(test.X_val[:9], 3)[..., 3:],
                   test.X_val[:9, ..., :-3])
assert shift(test.X_val[:9], 3)[..., :3].abs().max() == 0

# %% tags=["rtol=0.4", "hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.8))
for (head, seed), values in by_shift.items():
    i = heads.index(head)
    kept = [value / values[0] for value in values]
    for ax, line in zip(axes, (values, kept)):
        ax.plot(shifts, line, "o^s"[i], color=f"C{i}", mfc="none",
                label="" if seed else f"{head} head")
for i, head in enumerate(heads):
    runs = torch.tensor([by_shift[head, seed] for seed in range(num_seeds)])
    for ax, mean in zip(axes, (runs.mean(0), (runs / runs[:, :1]).mean(0))):
        ax.plot(shifts, mean, ("-", ":", "--")[i], color=f"C{i}")
axes[0].set(xlabel="shift in pixels", ylabel="accuracy", ylim=(0, 1))
axes[1].set(xlabel="shift in pixels", ylabel="share kept", ylim=(0, 1.1))
axes[0].legend()
d2l.describe(axes, """Accuracy, and the share of it that is kept, against the
    shift of the images, a mark for each of three seeds and lines through
    the means. Without a shift the flat and the dense head are ahead. Both
    lose about half or more at four pixels; the average head keeps most
    there and is ahead.""")

# %% [markdown]
# **Figure 8.3.5.** Accuracy (left) and the share that is kept (right) when images move; marks are seeds, lines their means.

# %%
if laptop and real:
    for seed in range(num_seeds):
        average = by_shift["average", seed]
        assert average[2] / average[0] > 2 / 3  # four pixels
        for head in ("flat", "dense"):
            other = by_shift[head, seed]
            assert other[0] > average[0] + 0.01  # centred images
            assert average[2] > other[2] + 0.05
            assert other[2] / other[0] < 0.6
    assert min(v[0] for v in by_shift.values()) > 0.5

# %% [markdown]
# Compare the average with the *flat* head first: they cost the same operations, and only in the second does each position have its own weights.
# At this budget the average then *costs* accuracy: on centred images the flat head is ahead from every seed.
# The garments of this data set are always in the middle, so a position can carry information about the class.
# When the images move by four pixels, the order is reversed, from every seed: the flat head keeps half of its accuracy or less, the average more than two thirds.
#
# The *dense* head, with which the network has twelve times the parameters that it has with the average, is on the side of the flat one: ahead in the middle, behind at four pixels.
# Neither the gain nor the loss needs its hidden layer.
#
# The average does not keep all.
# The average of shifted maps would be the same if the maps shifted along whole and nothing entered or left at the edge; stride, pooling and padding see to it that they do not ([Section 7.5](../07-convolutional-neural-networks/05-pooling.ipynb)).
# Nor does averaging erase position altogether: padding lets a network write it into the channels (Islam and others, 2021).
#
# The paper compared on CIFAR-10, with its own body, and found the average no worse but slightly better than a dense layer, even one with dropout.
# Both results hold in their settings; [Figure 7.6.8](../07-convolutional-neural-networks/06-lenet.ipynb) was a third.
# Most convolutional networks that followed, from GoogLeNet to ConvNeXt, took over the average or its twin, average and one dense layer, and $1\times1$ convolutions stand in the blocks of many of them: Inception, the bottlenecks of deep ResNets, MobileNet, ConvNeXt.
# A small dense network applied at each position is also one of the two parts of a standard Transformer block (Section 11.7).

# %% [markdown]
# ## Summary
#
# - A $1\times1$ convolution is a dense layer at each pixel; a NiN block is a small perceptron that slides over the image.
# - A global average turns ten maps into ten scores without parameters; NiN has 1 992 166 of them, 23.5 times fewer than AlexNet at a similar number of operations, and takes images of any size from 67 pixels on.
# - With ReLU, Xavier's weights keep in expectation, apart from padding and pooling, $c_{\mathrm{i}}/(c_{\mathrm{i}}+c_{\mathrm{o}})$ of the second moment at each layer; plain SGD stays on the plateau for longer from such a start than from He's weights, and AdamW leaves it sooner too.
# - A ReLU before the average makes scores nonnegative and can leave a class without a gradient of its own.
# - The maps before the average show where a score comes from, exactly, if not causally.
# - On small centred images and few steps the average is less accurate than a dense layer with weights for each position, at equal operations, and keeps more when images move.

# %% [markdown]
# ## Exercises
#
# ### Exercise 8.3-1
#
# Give the blocks of NiN one or three $1\times1$ convolutions instead of two.
# Predict the numbers of parameters, and train a small network of each kind.

# %% [markdown]
# #### Solution 8.3-1

# %% [markdown]
# A $1\times1$ layer with $c$ channels has $c^2+c$ parameters, so each step adds $\sum_c(c^2+c)$ over the channels of the four blocks.
# The accuracies are single runs at one budget and say nothing about an order.

# %%
def deep_block(c, kernel_size, strides, padding, ones):
    """A NiN block with `ones` 1x1 convolutions."""
    sizes = [(kernel_size, strides, padding)] + [(1, 1, 0)] * ones
    return nn.Sequential(*(layer for size in sizes for layer in
                           (nn.LazyConv2d(c, *size), nn.ReLU())))


def nin_with(ones):
    blocks = [deep_block(96, 11, 4, 0, ones), deep_block(256, 5, 1, 2, ones),
              deep_block(384, 3, 1, 1, ones), deep_block(10, 3, 1, 1, ones)]
    return nn.Sequential(*blocks)


step = sum(c**2 + c for c in (96, 256, 384, 10))
totals = {ones: costs(lambda: nin_with(ones))[0] for ones in (1, 2, 3)}
print(totals)
assert totals[2] == 1_992_166
assert totals[3] - totals[2] == totals[2] - totals[1] == step == 223_054

# %% tags=["rtol=0.2"]
for ones in (1, 2, 3):
    torch.manual_seed(0)
    net = SmallNiN("average")
    net.net[0] = deep_block(16, 5, 2, 2, ones)
    net.net[2], net.net[3] = (deep_block(c, 3, 1, 1, ones) for c in (32, 48))
    apply_init(net, small_data.X_train[:1], init_he)
    fit_quietly(net, small_data, max(1, compare_epochs // 2), adamw, 0,
                num_gpus)
    share = accuracy(net.cpu(), test.X_val)
    print(f"{ones} 1x1 layers: accuracy {share:.2f}")

# %% [markdown]
# ### Exercise 8.3-2
#
# Replace the $1\times1$ convolutions by $3\times3$ ones with padding 1.
# By what factor do their parameters and operations grow?

# %% [markdown]
# #### Solution 8.3-2

# %% [markdown]
# Weights grow ninefold and biases do not, so the factor is a little below 9, and exactly 9 for the operations, padding included.
# The grid stays as it is, but each block now looks further.

# %%
def wide_pair(c, k):
    return nn.Sequential(nn.Conv2d(c, c, k, padding=k // 2), nn.ReLU(),
                         nn.Conv2d(c, c, k, padding=k // 2))


for c, side in ((96, 54), (256, 26), (384, 12), (10, 5)):
    one, three = (costs(lambda: wide_pair(c, k), (1, c, side, side))
                  for k in (1, 3))
    print(f"{c:3d} channels: {three[0] / one[0]:.2f}")
    assert 8.2 < three[0] / one[0] < 9 and three[2] == 9 * one[2]
    assert three[0] == 2 * c * (9 * c + 1)

# %% [markdown]
# ### Exercise 8.3-3
#
# Put a dense layer in place of the average behind the ten $5\times5$ maps of NiN.
# What does it add, and which weights make it an average?

# %% [markdown]
# #### Solution 8.3-3

# %% [markdown]
# It adds $10\cdot25\cdot10+10=2510$ parameters.
# With the weight $\frac1{25}$ from each position of map $d$ to score $d$, and 0 elsewhere, it *is* the average: the dense head contains it as a special case, and NiN makes this choice beforehand.

# %%
maps = torch.randn(3, 10, 5, 5)
assert maps.any()
head = nn.Sequential(nn.Flatten(), nn.Linear(250, 10))
assert count_params(head) == 2510
with torch.no_grad():
    head[1].weight.copy_(torch.eye(10).repeat_interleave(25, dim=1) / 25)
    head[1].bias.zero_()
    torch.testing.assert_close(head(maps), maps.mean(dim=(2, 3)))

# %% [markdown]
# ### Exercise 8.3-4
#
# How many parameters and operations does NiN have in each block at $224\times224$, and how much memory do its activations take for prediction and for training, for a batch of 128 in single precision?

# %% [markdown]
# #### Solution 8.3-4

# %% [markdown]
# Training keeps what the backward pass needs, at least the output of each convolution; ReLU can overwrite it, so we count these outputs and those of pooling once.
# A prediction needs only the input and the output of one layer at a time, of which we take the largest pair.
# Parameters are a small matter beside either: 8 MB.

# %%
with torch.device("meta"):
    net = NiN().net
    rows = cost_table(net, (1, 1, 224, 224))
    outputs = [224**2]  # numbers for one image
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            layer.register_forward_hook(
                lambda layer, inputs, output: outputs.append(output.numel()))
    net(torch.zeros(1, 1, 224, 224))
for kind, shape, params, macs in rows:
    print(f"{kind:18s} {params:9,d} parameters {macs:11,d} operations")
kept = 128 * 4 * sum(outputs)
pair = 128 * 4 * max(a + b for a, b in zip(outputs[:-1], outputs[1:]))
print(f"training {kept / 1e6:.0f} MB, prediction {pair / 1e6:.0f} MB")
assert len(outputs) == 1 + 12 + 3  # input, convolutions, pooling
assert sum(row[2] for row in rows) == 1_992_166
assert sum(row[3] for row in rows) == 762_297_352
assert pair == 128 * 4 * 2 * 96 * 54**2 and 2.5 < kept / pair < 3.5

# %% [markdown]
# ### Exercise 8.3-5
#
# The last block goes from 384 channels to 10 in one step.
# Insert a $1\times1$ convolution to 96 channels before it.
# Does the network become smaller?

# %% [markdown]
# #### Solution 8.3-5

# %% [markdown]
# No: the $3\times3$ convolution of the last block shrinks from $9\cdot384\cdot10$ to $9\cdot96\cdot10$ weights, but the new layer has $384\cdot96$, more than was saved.
# The step from 384 to 10 is cheap; what may speak against it is that all evidence passes through ten numbers three times, with two ReLUs in between.

# %%
def last_blocks(*before):
    return nn.Sequential(*before, nin_block(10, 3, 1, 1, last_relu=False))


direct = costs(last_blocks, (1, 384, 5, 5))[0]
two_steps = costs(lambda: last_blocks(nn.LazyConv2d(96, 1), nn.ReLU()),
                  (1, 384, 5, 5))[0]
print(direct, two_steps)
assert direct == 9 * 384 * 10 + 10 + 2 * 110
assert two_steps == 384 * 96 + 96 + 9 * 96 * 10 + 10 + 2 * 110
assert two_steps - direct == 11_040

# %% [markdown]
# ### Exercise 8.3-6
#
# The average head keeps more of its accuracy when images move (Figure 8.3.5).
# Is it the only way there?
# Train the dense head on images that are moved and mirrored at random, with `AugmentedFashionMNIST`, for the same steps, and compare what is kept.

# %% [markdown]
# #### Solution 8.3-6

# %% [markdown]
# No.
# In the mean over the seeds, the dense head that trained on moved images keeps nearly everything at two pixels, and at four not much less than the average head, which has seen none.
# But it was shown shifts of up to three pixels only, and at six the average head keeps clearly more.
# It also pays: after the same steps it is less accurate on centred images than the dense head that saw only these.
# (The mirrored images are a second difference from the runs above.)

# %% tags=["rtol=0.3"]
moved = []
for seed in range(num_seeds):
    net = trained("dense", seed, moved_data)
    moved.append([accuracy(net, shift(test.X_val, k)) for k in shifts])
mean_moved = torch.tensor(moved).mean(dim=0)
for name, runs in (("dense, moved images", moved),
                   *((head, [by_shift[head, seed]
                             for seed in range(num_seeds)])
                     for head in heads)):
    mean = torch.tensor(runs).mean(dim=0)
    print(f"{name}: accuracy {mean[0]:.2f}, kept at 2, 4, 6 pixels",
          " ".join(f"{share:.2f}" for share in mean[1:] / mean[0]))
if laptop and real:
    for seed, run in enumerate(moved):
        plain = by_shift["dense", seed]
        assert run[0] < plain[0]
        assert run[1] / run[0] > plain[1] / plain[0] + 0.02
        assert run[2] / run[0] > plain[2] / plain[0] + 0.1
    average = torch.tensor([by_shift["average", seed]
                            for seed in range(num_seeds)]).mean(dim=0)
    ours, theirs = mean_moved / mean_moved[0], average / average[0]
    assert ours[1] > 0.94 and abs(ours[2] - theirs[2]) < 0.15
    assert theirs[3] > ours[3] + 0.07

# %% [markdown]
# ## Sources
#
# - M. Lin, Q. Chen and S. Yan, Network in network, 2013, [arXiv:1312.4400](https://arxiv.org/abs/1312.4400): the block, global average pooling, and its comparison with dense heads.
# - K. He, X. Zhang, S. Ren and J. Sun, Delving deep into rectifiers, 2015, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): the initialization for ReLU.
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva and A. Torralba, Learning deep features for discriminative localization, 2016, [arXiv:1512.04150](https://arxiv.org/abs/1512.04150): class activation maps.
# - R. R. Selvaraju et al., Grad-CAM, 2017, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391); J. Adebayo et al., Sanity checks for saliency maps, 2018, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292): maps for other heads, and a test that some such methods fail.
# - M. A. Islam et al., Global pooling, more than meets the eye: position information is encoded channel-wise in CNNs, 2021, [arXiv:2108.07884](https://arxiv.org/abs/2108.07884).
# - Z. Liu et al., A ConvNet for the 2020s, 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545): a network of today with average head and $1\times1$ layers in each block.
# - H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
