# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke: {}
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
# # 7.4 Multiple input and multiple output channels
#
# So far an image was one matrix.
# A colour image has three, and the layers inside a network work with dozens or hundreds.
# What does a convolution do with so many channels, what does it cost, and how can the same work be done for less?
#
# **You will**
#
# - compute a convolution with many input and output channels as loops, as a dense layer per pixel, and as one matrix product, and prove them equal;
# - count the multiplications in the layers of a network, even without running it on numbers;
# - replace a convolution by a grouped or a separable one, and say what is saved and what is given up;
# - tell the shape of a tensor from its order in memory.
#
# **Cost**: a few seconds on a CPU, no download, no use of a GPU.

# %%
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.convolutional_neural_networks import (
    conv_out, corr2d)

d2l.use_style()

# %% [markdown]
# ## Several input channels
#
# At each pixel a colour image holds three numbers, and a satellite image may hold a hundred.
# The last formula of [Section 7.1](01-from-dense-to-convolution.ipynb) says what to do with them: the window covers the same place in all channels, each channel has weights of its own, and everything is added up into one number.
# So the kernel needs as many channels as the input.
#
# $$
# [\mathbf{Y}]_{i,j} = u + \sum_{c=1}^{c_\mathrm{i}} \sum_{a=1}^{k_h} \sum_{b=1}^{k_w} [\mathsf{K}]_{c,a,b}\, [\mathsf{X}]_{c,\,i+a-1,\,j+b-1} \tag{7.4.1}
# $$
#
# Here $\mathsf{X}$ is the input of shape $c_\mathrm{i} \times h \times w$, with $c_\mathrm{i}$ channels of $h \times w$ pixels; $\mathsf{K}$ is the kernel of shape $c_\mathrm{i} \times k_h \times k_w$; $u$ is the bias, a number; $\mathbf{Y}$ is the output, a matrix of shape $(h-k_h+1) \times (w-k_w+1)$.
# Unlike in [Section 7.1](01-from-dense-to-convolution.ipynb) the channel is the first axis, as in PyTorch, and the offsets $a$, $b$ start at the upper left corner of the window.
# The inner two sums are the cross-correlation of [Section 7.2](02-convolutions.ipynb) in channel $c$.
# The outer sum is new, and it runs over *all* channels: there is no window in the direction of the channels, because channel 3 is no neighbour of channel 4 in any useful sense.
#
# ![Two input channels with the numbers 0 to 8 and 1 to 9. In each, the upper left window of 2 by 2 is marked and multiplied by the channel of the kernel. The sums 19 and 37 are added, which gives 56, the upper left element of the output 56, 72, 104, 120.](img/chan-two-inputs.svg)

# %% [markdown]
# **Figure 7.4.1.** Each channel is correlated with its own part of the kernel, and the results are added.
# The first element is $(0\cdot0+1\cdot1+3\cdot2+4\cdot3) + (1\cdot1+2\cdot2+4\cdot3+5\cdot4) = 19 + 37 = 56$.
#
# The code is as short as the sentence.

# %%
def corr2d_multi_in(X, K):
    """Correlate X (ci, h, w) with K (ci, kh, kw) and add over ci."""
    return sum(corr2d(x, k) for x, k in zip(X, K, strict=True))


X = torch.stack([torch.arange(9.0), torch.arange(1.0, 10)])
X = X.reshape(2, 3, 3)                                     # (ci, h, w)
K = torch.stack([torch.arange(4.0), torch.arange(1.0, 5)])
K = K.reshape(2, 2, 2)                                     # (ci, kh, kw)
print(corr2d_multi_in(X, K))

# %%
# check 7.4-C1: the numbers of Figure 7.4.1, and the first one by hand
Y = corr2d_multi_in(X, K)
assert torch.equal(Y, torch.tensor([[56.0, 72.0], [104.0, 120.0]]))
first = (1*1 + 2*2 + 4*3 + 5*4) + (0*0 + 1*1 + 3*2 + 4*3)
assert Y[0, 0] == first == 56
torch.testing.assert_close(F.conv2d(X[None], K[None])[0, 0], Y)

# %% [markdown]
# The argument `strict=True` is there for a reason.
# A plain `zip` ends with the shorter of its arguments, so a kernel with too few channels would ignore the rest of the image, and the result would have the right shape.
# The library refuses such a kernel too.

# %%
print("plain zip:", sum(corr2d(x, k) for x, k in zip(X, K[:1])).tolist())
refused = []
for function in (lambda: corr2d_multi_in(X, K[:1]),
                 lambda: F.conv2d(X[None], K[None, :1])):
    try:
        function()
    except (ValueError, RuntimeError) as error:
        refused.append(type(error).__name__)
print("refused with:", refused)
assert refused == ["ValueError", "RuntimeError"]

# %% [markdown]
# ## Several output channels
#
# The result above has a single channel, however many the input had.
# One kernel looks for one pattern, and a network needs many.
# So a layer has one kernel for each output channel, and stacks the results:
#
# $$
# [\mathsf{Y}]_{d,i,j} = u_d + \sum_{c=1}^{c_\mathrm{i}} \sum_{a=1}^{k_h} \sum_{b=1}^{k_w} [\mathsf{K}]_{d,c,a,b}\, [\mathsf{X}]_{c,\,i+a-1,\,j+b-1}, \qquad d = 1, \dots, c_\mathrm{o}. \tag{7.4.2}
# $$
#
# Here $c_\mathrm{o}$ is the number of output channels, $\mathsf{K}$ has the shape $c_\mathrm{o} \times c_\mathrm{i} \times k_h \times k_w$, the bias $\mathbf{u}$ has one number per output channel, and $\mathsf{Y}$ has the shape $c_\mathrm{o} \times (h-k_h+1) \times (w-k_w+1)$.
# Every output channel sees all input channels.
# In the direction of the channels the layer is thus fully connected; only in the directions of space is it local and shared.

# %%
def corr2d_multi_in_out(X, K):
    """Correlate X (ci, h, w) with K (co, ci, kh, kw): (co, h', w')."""
    return torch.stack([corr2d_multi_in(X, k) for k in K])


K_out = torch.stack([K, K + 1, K + 2])  # (co, ci, kh, kw) = (3, 2, 2, 2)
Y_out = corr2d_multi_in_out(X, K_out)
print(tuple(K_out.shape), "->", tuple(Y_out.shape))
for y in Y_out:
    print(y.tolist())

# %%
# check 7.4-C2: adding 1 to all weights adds the sum of the window
assert K_out.shape == (3, 2, 2, 2) and torch.equal(Y_out[0], Y)
assert Y_out[1].tolist() == [[76, 100], [148, 172]]
assert Y_out[2].tolist() == [[96, 128], [192, 224]]
window_sums = corr2d_multi_in(X, torch.ones_like(K))
assert window_sums.tolist() == [[20, 28], [44, 52]]
for step in Y_out.diff(dim=0):
    assert torch.equal(step, window_sums)
torch.testing.assert_close(F.conv2d(X[None], K_out)[0], Y_out)

# %% [markdown]
# The check reads the result in another way.
# Adding 1 to every weight adds to each output the plain sum of its window, because the operation is linear in the kernel.
#
# Step through the computation: the first slider moves the window, the second chooses the output channel.
# The window moves through both input channels at once, and the input is the same for all outputs.

# %% tags=["hide-input"]
def grid(ax, values, title="", marked=(), color="#F6C667"):
    """Numbers in boxes; the boxes (row, column) of `marked` coloured."""
    rows, cols = values.shape
    for i in range(rows):
        for j in range(cols):
            face = color if (i, j) in marked else "white"
            ax.add_patch(plt.Rectangle((j, i), 1, 1, ec="#444444", fc=face))
            if values[i, j] == values[i, j]:  # nan: an empty box
                ax.text(j + 0.5, i + 0.52, f"{values[i, j]:g}",
                        ha="center", va="center", fontsize=9)
    ax.set(xlim=(-0.05, cols + 0.05), ylim=(rows + 0.05, -0.05),
           aspect="equal")
    ax.set_title(title, fontsize=9)
    ax.axis("off")

# %% tags=["hide-input"]
def draw(fig, position, output):
    i, j = int(position[0]), int(position[3])
    d = int(output)
    axes = fig.subplots(2, 4, width_ratios=[3, 2, 2, 2])
    window = {(i + a, j + b) for a in (0, 1) for b in (0, 1)}
    products = X[:, i:i + 2, j:j + 2] * K_out[d]    # (ci, kh, kw)
    for c in (0, 1):
        grid(axes[c, 0], X[c], f"input {c}", window)
        grid(axes[c, 1], K_out[d, c], f"kernel {d}, {c}")
        grid(axes[c, 2], products[c], f"products, sum {products[c].sum():g}")
        axes[c, 3].axis("off")
    done = Y_out[d].clone()
    done.flatten()[2 * i + j + 1:] = float("nan")   # not yet computed
    grid(axes[0, 3], done, f"output {d}", {(i, j)})
    axes[1, 3].text(1, 0.7, " + ".join(f"{p.sum():g}" for p in products)
                    + f"\n= {products.sum():g}", ha="center", fontsize=11)
    axes[1, 3].set(xlim=(0, 2), ylim=(0, 2))


d2l.sliders(draw, """Two input channels of 3 by 3 numbers with the window at
    row 1, column 0, marked in both. Beside them the two channels of a 2 by
    2 kernel, the products of weights and inputs with their sums, and the
    output channel with the value of this position marked.""",
            figsize=(6.0, 3.4), output=[0, 1, 2],
            position=["0, 0", "0, 1", "1, 0", "1, 1"])

# %% [markdown]
# **Figure 7.4.2.** A convolution with two input and three output channels, one position and one output channel at a time (row and column of the position counted from 0).
# The third column holds the products of weights and inputs; the two sums are added and written into the output.
#
# ### What a channel means
#
# It is tempting to think that each channel is a detector of its own: one for vertical edges, one for corners, one for fur.
# Some are.
# But nothing in (7.4.2) asks for it, since the next layer sees all channels and can combine them in any way.
# Suppose we replace the outputs of a layer by mixtures of them, with an invertible matrix, and let the next layer undo the mixing.
# Every channel in between is now a different one, and the network computes what it did before.

# %%
rng = torch.Generator().manual_seed(0)
f64 = torch.float64
X_rand = torch.randn(1, 3, 8, 8, dtype=f64, generator=rng)
K1 = torch.randn(4, 3, 3, 3, dtype=f64, generator=rng)
K2 = torch.randn(5, 4, 3, 3, dtype=f64, generator=rng)
M = torch.randn(4, 4, dtype=f64, generator=rng) + 3 * torch.eye(4)


def mixed(M, act):
    """Two layers whose four channels in between are mixed by M."""
    first = torch.einsum("em,mcab->ecab", M, K1)
    second = torch.einsum("dmab,me->deab", K2, torch.linalg.inv(M))
    return F.conv2d(act(F.conv2d(X_rand, first)), second)

# %%
def same(act, M):
    return torch.allclose(mixed(M, act), mixed(torch.eye(4, dtype=f64), act))


swap = torch.eye(4, dtype=f64)[[2, 0, 3, 1]]       # another order
scale = torch.diag(torch.tensor([0.5, 1, 2, 3], dtype=f64))
for name, act in (("linear", nn.Identity()), ("ReLU", torch.relu)):
    print(f"{name:6s} mixed: {same(act, M)}  reordered: {same(act, swap)}"
          f"  rescaled: {same(act, scale)}")
assert same(nn.Identity(), M) and not same(torch.relu, M)
assert same(torch.relu, swap) and same(torch.relu, scale)

# %% [markdown]
# Without a nonlinearity any mixture is as good as any other.
# With a ReLU this random mixture changes the result; another order and positive factors never do, because they pass through the ReLU.
# So the ReLU singles out the axes, but it does not say that the natural features of the data lie along them.
# Think of the channels at a pixel as a vector: its directions are useful together, and a feature may well be a direction between the axes.
#
# A common design lets the number of channels grow while the resolution falls.
# Early layers keep fine positions and few features; late layers keep coarse positions and many features.
# What that does to the cost follows below.
#
# ## Kernels of one pixel
#
# A kernel of $1 \times 1$ has no neighbours to look at.
# What remains of (7.4.2) is the sum over the channels:
#
# $$
# [\mathsf{Y}]_{d,i,j} = u_d + \sum_{c=1}^{c_\mathrm{i}} [\mathbf{W}]_{d,c}\, [\mathsf{X}]_{c,i,j}, \qquad [\mathbf{W}]_{d,c} = [\mathsf{K}]_{d,c,1,1}. \tag{7.4.3}
# $$
#
# Here $\mathbf{W}$ is a matrix of shape $c_\mathrm{o} \times c_\mathrm{i}$.
# For a fixed pixel $(i,j)$ this is a dense layer from $c_\mathrm{i}$ inputs to $c_\mathrm{o}$ outputs, and it is the same dense layer at every pixel.
# It has $c_\mathrm{o} c_\mathrm{i}$ weights and $c_\mathrm{o}$ biases, whatever the size of the image.
#
# ![Three input channels of 3 by 3 pixels on the left, two output channels on the right. The three values at one pixel form a vector, which a 2 by 3 matrix maps to the two values at the same pixel of the output.](img/chan-one-by-one.svg)

# %% [markdown]
# **Figure 7.4.3.** A $1 \times 1$ convolution is a dense layer that is applied at each pixel, with the same matrix everywhere.
# No pixel learns anything about its neighbours.
#
# We write it once as a matrix product with one column per pixel, and compare with the loops and with the dense layer of PyTorch, which wants the channels last.

# %%
def corr2d_1x1(X, K):
    """The 1x1 convolution of X (ci, h, w) with K (co, ci, 1, 1)."""
    ci, h, w = X.shape
    pixels = X.reshape(ci, h * w)         # one column per pixel
    W = K.reshape(-1, ci)                 # (co, ci)
    return (W @ pixels).reshape(-1, h, w)


rng = torch.Generator().manual_seed(1)
X3 = torch.randn(3, 3, 3, dtype=f64, generator=rng)
K11 = torch.randn(2, 3, 1, 1, dtype=f64, generator=rng)
Y1 = corr2d_1x1(X3, K11)                            # (2, 3, 3)
Y2 = corr2d_multi_in_out(X3, K11)
Y3 = F.linear(X3.permute(1, 2, 0), K11[:, :, 0, 0]).permute(2, 0, 1)
print(tuple(Y1.shape), tuple(Y2.shape), tuple(Y3.shape))

# %%
# check 7.4-C3: matrix, loop and dense layer agree
assert Y1.shape == (2, 3, 3)
assert (Y1 - Y2).abs().sum() < 1e-6
assert (Y1 - Y3).abs().sum() < 1e-6
layer = nn.Conv2d(3, 2, kernel_size=1)
assert count_params(layer) == 2 * 3 + 2

# %% [markdown]
# Two uses make these layers common.
# They change the number of channels at little cost, between layers that do the spatial work.
# And followed by a nonlinearity they add a layer of depth at each pixel, so that the pixel gets a small perceptron of its own.
#
# ### Without a nonlinearity, layers merge
#
# The nonlinearity is essential to the second use.
# Without one, a $1 \times 1$ layer disappears into its neighbour, and more generally two convolutions in a row are one convolution.
# Insert the first layer into the second, in one dimension and for one channel to keep the indices few, counted from 0:
#
# $$
# \sum_b k'_b \Bigl(\sum_a k_a\, x_{i+a+b}\Bigr) = \sum_s \Bigl(\sum_b k'_b\, k_{s-b}\Bigr) x_{i+s}. \tag{7.4.4}
# $$
#
# Here $k$ is the kernel of the first layer, $k'$ that of the second, $x$ the input, and $s = a+b$.
# The sum in the last parentheses is a *convolution* in the strict sense, with one index running backwards: the layers correlate, yet their kernels convolve.
# If $a$ takes $m$ values and $b$ takes $n$, then $s$ takes $m+n-1$.
# With channels, the kernels are also multiplied like matrices, since the channels in between are summed over.
# So a $3 \times 3$ layer from 3 to 5 channels and a $5 \times 5$ layer from 5 to 4 are one $7 \times 7$ layer from 3 to 4.
# If the second layer pads with zeros, this holds in the interior only: near the border the second layer reads zeros, where the merged layer in effect uses outputs of the first layer beyond the border.

# %%
def merge(K1, K2):
    """One kernel for K1 (cm, ci, k1, k1) followed by K2 (co, cm, k2, k2).

    Returns (co, ci, k1 + k2 - 1, k1 + k2 - 1).
    """
    images = K1.transpose(0, 1)            # ci images of cm channels
    full = F.conv2d(images, K2.flip(2, 3), padding=K2.shape[-1] - 1)
    return full.transpose(0, 1)            # (co, ci, k, k)


rng = torch.Generator().manual_seed(2)
K3 = torch.randn(5, 3, 3, 3, dtype=f64, generator=rng)
K5 = torch.randn(4, 5, 5, 5, dtype=f64, generator=rng)
X_big = torch.randn(2, 3, 12, 12, dtype=f64, generator=rng)
K7 = merge(K3, K5)
print(tuple(K3.shape), "then", tuple(K5.shape), "=", tuple(K7.shape))

# %%
# check 7.4-C9: two linear layers are one; the sum (7.4.4) gives its kernel
assert K7.shape == (4, 3, 7, 7)
stacked = F.conv2d(F.conv2d(X_big, K3), K5)
torch.testing.assert_close(F.conv2d(X_big, K7), stacked)
by_hand = torch.zeros_like(K7)
for a in range(5):
    for b in range(5):  # K5 at (a, b) shifts K3 and mixes its channels
        by_hand[:, :, a:a + 3, b:b + 3] += torch.einsum(
            "dm,mcij->dcij", K5[:, :, a, b], K3)
torch.testing.assert_close(K7, by_hand)
merged = F.conv2d(X_big, K7, padding=3)
padded = F.conv2d(F.conv2d(X_big, K3, padding=1), K5, padding=2)
torch.testing.assert_close(merged[..., 2:-2, 2:-2], padded[..., 2:-2, 2:-2])
assert not torch.allclose(merged[..., 0, :], padded[..., 0, :])
relu = F.conv2d(F.conv2d(X_big, K3).relu(), K5)
assert not torch.allclose(F.conv2d(X_big, K7), relu)

# %% [markdown]
# ## What it costs
#
# One element of the output takes $k_h k_w c_\mathrm{i}$ multiplications, each followed by an addition.
# Such a pair is a *multiply-accumulate*, MAC for short.
# All elements together take
#
# $$
# \mathrm{MACs} = h' w'\, k_h k_w\, c_\mathrm{i}\, c_\mathrm{o}. \tag{7.4.5}
# $$
#
# Here $h'$ and $w'$ are the height and width of the output, and the count is for one image.
# For a single pair of channels the cost is $\mathcal{O}(h\,w\,k^2)$, which looks harmless; with channels it is $\mathcal{O}(h\,w\,k^2 c_\mathrm{i} c_\mathrm{o})$.
# Take an image of $256 \times 256$ pixels, a $5 \times 5$ kernel, padding that keeps the size, and 128 channels before and after.
# Counting a multiplication and an addition as two operations, one layer takes
#
# $$
# 2 \cdot 256^2 \cdot 5^2 \cdot 128^2 = 53\,687\,091\,200 \tag{7.4.6}
# $$
#
# operations, for one image and one pass.
# The channels alone contribute a factor of $128^2 = 16384$.
#
# Beware of the words: some authors call a MAC one operation and others two, so published costs of the same network differ by a factor of two.
# This book counts MACs.
#
# ### A counter for whole networks
#
# We want this number for every layer of every network, so a program should find it.
# A forward hook ([Section 6.1](../06-builders-guide/01-layers-and-modules.ipynb)) sees a layer and its output at work.
# That is all we need: each element of the output is a dot product with one slice `weight[d]`, so the count is the number of outputs times the size of that slice.
# This holds for dense layers, for convolutions in any number of dimensions, and for the grouped ones below, whose slices are smaller.
# In a transposed convolution ([Section 7.3](03-padding-and-stride.ipynb)) the roles are exchanged, and each element of the *input* meets one slice.

# %% tags=["export"]
def macs_of_call(layer, inputs, output):
    """Multiply-accumulates of one call of a layer; None if not counted.

    Counted are the products of weights with inputs in linear layers,
    convolutions and transposed convolutions, also where the input is
    padding or the output is cropped. Biases, normalization, pooling,
    activations and all other layers are not counted.
    """
    if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d,
                          nn.ConvTranspose3d)):
        return inputs[0].numel() * layer.weight[0].numel()
    if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return output.numel() * layer.weight[0].numel()
    return None

# %% [markdown]
# The rest is care: the network must be left as it was found.
# The pass runs in evaluation mode, without gradients, on the device where the parameters are; afterwards each part has its mode back, and the hooks are gone even if the pass fails.

# %% tags=["export"]
def count_macs(net, input_shape):
    """Multiply-accumulates of each layer in one forward pass.

    `input_shape` is that of one input tensor, batch axis included; see
    `macs_of_call` for what is counted. Returns a dict, name of layer ->
    count, in the order of the calls. A layer called twice counts twice;
    a net that is itself a layer goes by the name of its class. Lazy
    layers get their shapes; nothing else about the net changes. A net
    on the device "meta" costs neither time nor memory.
    Raises TypeError or ValueError for what is no module or no shape.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"count_macs needs a module, got {net!r}")
    if not (isinstance(input_shape, (tuple, list)) and input_shape
            and all(isinstance(n, int) and n > 0 for n in input_shape)):
        raise ValueError("input_shape must be positive integers such as "
                         f"(1, 3, 32, 32), got {input_shape!r}")
    macs, modes = {}, {m: m.training for m in net.modules()}

    def hook(name):
        def count(layer, inputs, output):
            n = macs_of_call(layer, inputs, output)
            if n is not None:
                macs[name] = macs.get(name, 0) + n
        return count

    handles = [m.register_forward_hook(hook(name or type(m).__name__))
               for name, m in net.named_modules()]
    like = next(net.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(input_shape, dtype=like.dtype,
                                   device=like.device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return macs

# %% [markdown]
# There is no need to run the layer of (7.4.6) in order to count its work.
# The shapes suffice: on the device `meta` of [Section 6.4](../06-builders-guide/04-lazy-initialization.ipynb) a network has sizes but no numbers, and the hooks see all they need.
# PyTorch has a counter of its own, which counts operations rather than MACs and works at a lower level; it must report the double.

# %%
with torch.device("meta"):
    wide = nn.Conv2d(128, 128, kernel_size=5, padding=2)
    images = torch.empty(1, 128, 256, 256)
macs = count_macs(wide, (1, 128, 256, 256))
with FlopCounterMode(display=False) as counter:
    wide(images)
print(f"count_macs {macs['Conv2d']:,} MACs, "
      f"PyTorch {counter.get_total_flops():,} operations")

# %%
# check 7.4-C5: 53.7 billion operations are half as many MACs
operations = 2 * 256**2 * 5**2 * 128**2
assert operations == 53_687_091_200
assert macs == {"Conv2d": operations // 2}
assert counter.get_total_flops() == operations

# %% [markdown]
# A second test has several kinds of layers, one of them used twice, one lazy, one in a mode of its own.
# The counts are compared with (7.4.5) and with PyTorch's, and the network must be as before.

# %%
class Medley(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.frozen = nn.BatchNorm2d(8).eval()  # a mode of its own
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2)
        self.head = nn.LazyLinear(10)

    def forward(self, X):
        X = self.twice(self.twice(self.norm(self.stem(X))).relu())
        return self.head(self.up(self.frozen(X)).flatten(1))


torch.manual_seed(0)
medley = Medley()
macs = count_macs(medley, (2, 3, 16, 16))
print(macs)

# %%
# check: counts by formula and by PyTorch; the net is left as it was
assert macs == {"stem": 2 * 8**2 * 9 * 3 * 8,
                "twice": 2 * (2 * 8**2 * 9 * 4 * 8),
                "up": 2 * 8**2 * 8 * (2 * 2 * 3),
                "head": 2 * 10 * (6 * 16**2)}
assert medley.training and medley.norm.training
assert not medley.frozen.training
assert medley.norm.num_batches_tracked == 0
with FlopCounterMode(display=False) as counter:
    medley(torch.zeros(2, 3, 16, 16))
assert counter.get_total_flops() == 2 * sum(macs.values())
assert all(p.requires_grad and p.grad is None for p in medley.parameters())
assert not any(m._forward_hooks for m in medley.modules())
recorded = []  # does the pass record the way to a gradient?
hook = medley.head.register_forward_hook(
    lambda layer, inputs, output: recorded.append(output.requires_grad))
count_macs(medley, (2, 3, 16, 16))
hook.remove()
assert recorded == [False]
medley(torch.zeros(2, 3, 16, 16)).sum().backward()  # it can still learn

# %%
assert sum(count_macs(medley.double(), (1, 3, 16, 16)).values()) * 2 == (
    sum(macs.values()))  # half the batch, float64
messages = []
for bad in ((medley.forward, (1, 3, 16, 16)), (medley, 16),
            (medley, ()), (medley, (1, 3, 0, 16)),
            (medley, (1, 4, 16, 16))):
    try:
        count_macs(*bad)
    except (TypeError, ValueError, RuntimeError) as error:
        messages.append(f"{type(error).__name__}: {str(error)[:46]}")
print("\n".join(dict.fromkeys(m for m in messages if "needs" not in m)))
assert [m.split(":")[0] for m in messages] == [
    "TypeError", *["ValueError"] * 3, "RuntimeError"]
assert medley.training
assert not any(m._forward_hooks for m in medley.modules())
both = ((nn.Conv1d, nn.ConvTranspose1d), (nn.Conv2d, nn.ConvTranspose2d),
        (nn.Conv3d, nn.ConvTranspose3d))
for d, (down, up) in enumerate(both, start=1):  # in d dimensions
    shape = [1, 4] + [5] * d
    assert [*count_macs(down(4, 6, 3), shape).values()] == [24 * 9**d]
    assert [*count_macs(up(4, 6, 3), shape).values()] == [24 * 15**d]
assert count_macs(nn.Flatten(), (1, 2, 3)) == {}  # without parameters

# %% [markdown]
# Two cautions about the counter.
# It knows layers, not mathematics: a matrix product that is written as a function in `forward` is not seen.
# And MACs are not seconds, as we shall measure.
#
# Now to the design in which channels double when the resolution halves.
# In (7.4.5) the number of positions falls to a quarter, and $c_\mathrm{i} c_\mathrm{o}$ grows to four times what it was.

# %%
print("side  channels    values    weights       MACs")
stages = [(32, 64), (16, 128), (8, 256), (4, 512)]
rows = []
for side, c in stages:
    layer = nn.Conv2d(c, c, 3, padding=1, bias=False, device="meta")
    work = count_macs(layer, (1, c, side, side))["Conv2d"]
    rows.append((c * side**2, count_params(layer), work))
    print(f"{side:4}{c:10}{rows[-1][0]:10,}{rows[-1][1]:11,}{work:11,}")
values, weights, work = zip(*rows)
assert len(set(work)) == 1                       # the same everywhere
assert all(a == 2 * b for a, b in zip(values, values[1:]))
assert all(4 * a == b for a, b in zip(weights, weights[1:]))

# %% [markdown]
# So the work is spread evenly over the depth.
# The outputs, most of which are kept for the backward pass, take most room in the first layers, and the weights in the last.
# This is why a lack of memory in training is felt at the first layers, and the size of the stored file is decided by the last ones.
#
# ## A convolution as one matrix product
#
# Hardware is at its best with large matrix products.
# A $1 \times 1$ convolution is one; can any convolution be written so?
# Each output is a dot product of the kernel with the window under it.
# We write the window as a column, all channels below each other, and put the columns of all windows side by side:
#
# $$
# \mathbf{Y} = \mathbf{W}\,\mathbf{C}, \qquad \mathbf{W} \in \mathbb{R}^{c_\mathrm{o} \times c_\mathrm{i} k_h k_w}, \quad \mathbf{C} \in \mathbb{R}^{c_\mathrm{i} k_h k_w \times h' w'}. \tag{7.4.7}
# $$
#
# Here row $d$ of $\mathbf{W}$ is the kernel of output channel $d$ as one long vector, column $p$ of $\mathbf{C}$ is the window at position $p$, and row $d$ of $\mathbf{Y}$ is output channel $d$, all positions in a line.
# The matrix $\mathbf{C}$ is known as *im2col*, from "image to columns".
# Move the slider from column to column, in the example of Figure 7.4.2.

# %% tags=["hide-input"]
def draw(fig, column):
    p = int(column)
    i, j = p // 2, p % 2
    C = F.unfold(X[None], 2)[0]                    # (8, 4)
    W = K_out.reshape(3, 8)
    axes = fig.subplot_mosaic([["x0", "C"], ["x1", "C"], ["W", "Y"]],
                              width_ratios=[8, 4], height_ratios=[4, 4, 3])
    window = {(i + a, j + b) for a in (0, 1) for b in (0, 1)}
    for c in (0, 1):
        grid(axes[f"x{c}"], X[c], f"input {c}", window)
    grid(axes["C"], C, "C: windows as columns", {(r, p) for r in range(8)})
    grid(axes["W"], W, "W: one kernel in each row")
    grid(axes["Y"], W @ C, "Y = W C", {(d, p) for d in range(3)})


d2l.sliders(draw, """Two 3 by 3 inputs with the window at the lower left
    marked. The same eight numbers stand in column 2 of the matrix C of 8
    rows and 4 columns. Below, the 3 by 8 matrix W of the kernels and the
    product Y with 3 rows and 4 columns, whose column 2 is marked.""",
            figsize=(5.4, 4.6), column=[0, 1, 2, 3])

# %% [markdown]
# **Figure 7.4.4.** The window becomes a column of $\mathbf{C}$, and the product with all kernels gives one column of the output.
# Most numbers of the input stand in several columns.
#
# Read by columns, $\mathbf{C}$ is a list of windows.
# Read by rows it is something else: row $(c, a, b)$ holds channel $c$ of the image, shifted by $(a, b)$.
# That is the fast way to build it, because there are only $k_h k_w$ shifts, and each is a slice.

# %%
def im2col(X, kh, kw, padding=0, stride=1):
    """Windows of X (n, ci, h, w) as columns: (n, ci * kh * kw, h' * w')."""
    X = F.pad(X, (padding,) * 4)
    h, w = X.shape[2] - kh + 1, X.shape[3] - kw + 1
    shifts = [X[:, :, a:a + h:stride, b:b + w:stride]
              for a in range(kh) for b in range(kw)]
    C = torch.stack(shifts, dim=2)             # (n, ci, kh * kw, h', w')
    return C.flatten(3).flatten(1, 2)


def conv2d_im2col(X, K, padding=0, stride=1):
    """Convolution of X (n, ci, h, w) with K (co, ci, kh, kw) by (7.4.7)."""
    co, _, kh, kw = K.shape
    Y = K.reshape(co, -1) @ im2col(X, kh, kw, padding, stride)
    h = conv_out(X.shape[2], kh, padding, stride)
    w = conv_out(X.shape[3], kw, padding, stride)
    return Y.reshape(-1, co, h, w)             # Y was (n, co, h' * w')

# %%
# check 7.4-C4: shapes, F.unfold, and F.conv2d in several settings
rng = torch.Generator().manual_seed(3)
batch = torch.randn(2, 3, 8, 8, dtype=f64, generator=rng)
assert F.unfold(batch, 3, padding=1).shape == (2, 27, 64)
for kh, kw, padding, stride in ((3, 3, 1, 1), (3, 3, 1, 2), (2, 5, 2, 3),
                                (1, 1, 0, 1), (8, 8, 0, 1)):
    C = im2col(batch, kh, kw, padding, stride)
    assert torch.equal(C, F.unfold(batch, (kh, kw), padding=padding,
                                   stride=stride))
    kernel = torch.randn(4, 3, kh, kw, dtype=f64, generator=rng)
    torch.testing.assert_close(
        conv2d_im2col(batch, kernel, padding, stride),
        F.conv2d(batch, kernel, padding=padding, stride=stride))
    torch.testing.assert_close(conv2d_im2col(batch, kernel)[0],
                               corr2d_multi_in_out(batch[0], kernel))

# %% [markdown]
# The price is memory: $\mathbf{C}$ has $k_h k_w$ times as many numbers as the image (with padding that keeps the size).
# Libraries therefore build it in small tiles which they discard at once, or never explicitly.
# For some sizes they use other algorithms altogether: those in the manner of Winograd need fewer multiplications for small kernels, Fourier transforms for large ones (Lavin and Gray, 2015).
# The gain is speed; compare the loops with the matrix product and with the library for one image of 8 channels.

# %% tags=["timing"]
def milliseconds(f, repeat=5):
    """Least time of several calls, without gradients."""
    times = []
    with torch.no_grad():
        for _ in range(repeat):
            start = time.perf_counter()
            f()
            times.append(time.perf_counter() - start)
    return 1000 * min(times)


rng = torch.Generator().manual_seed(4)
image = torch.randn(1, 8, 20, 20, generator=rng)
K8 = torch.randn(8, 8, 3, 3, generator=rng)
slow = milliseconds(lambda: corr2d_multi_in_out(image[0], K8), repeat=1)
matrix = milliseconds(lambda: conv2d_im2col(image, K8))
library = milliseconds(lambda: F.conv2d(image, K8))
print(f"loops {slow:.1f} ms, one matrix product {matrix:.3f} ms, "
      f"library {library:.3f} ms")
assert slow > 10 * matrix

# %% [markdown]
# ### The backward pass
#
# As a matrix product the convolution has the gradients of a matrix product ([Section 5.3](../05-multilayer-perceptrons/03-backpropagation.ipynb)).
# Let $\mathbf{G} \in \mathbb{R}^{c_\mathrm{o} \times h'w'}$ be the gradient of the loss $L$ with respect to $\mathbf{Y}$.
# Then
#
# $$
# \frac{\partial L}{\partial \mathbf{W}} = \mathbf{G}\,\mathbf{C}^\top, \qquad \frac{\partial L}{\partial \mathbf{C}} = \mathbf{W}^\top \mathbf{G}. \tag{7.4.8}
# $$
#
# Here the first gradient has the shape of $\mathbf{W}$ and the second that of $\mathbf{C}$; a pixel that stands in several columns gets the sum of their gradients, which `F.fold` computes.
# Both products take as many multiplications as the forward pass, because the same three sizes are involved.
# So backward costs about twice as much as forward, and a training step three times as much.
# The first product also needs the input of the layer, which must therefore be kept from the forward pass: that is the memory of the activations.

# %%
rng = torch.Generator().manual_seed(5)
X_in = torch.randn(2, 3, 8, 8, dtype=f64, generator=rng)
K_in = torch.randn(4, 3, 3, 3, dtype=f64, generator=rng)
G = torch.randn(2, 4, 64, dtype=f64, generator=rng)  # gradient of the output
grad_W = (G @ im2col(X_in, 3, 3, padding=1).mT).sum(0)    # over the batch
grad_X = F.fold(K_in.reshape(4, -1).T @ G, (8, 8), 3, padding=1)

X_in.requires_grad_()
K_in.requires_grad_()
with FlopCounterMode(display=False) as counter:
    Y = F.conv2d(X_in, K_in, padding=1)
    forward = counter.get_total_flops()
    Y.backward(G.reshape(Y.shape))
torch.testing.assert_close(grad_W.reshape(K_in.shape), K_in.grad)
torch.testing.assert_close(grad_X, X_in.grad)
print("forward and backward / forward:",
      counter.get_total_flops() / forward)
assert counter.get_total_flops() == 3 * forward

# %% [markdown]
# ## Fewer connections between channels
#
# In (7.4.5) the channels enter as a product, and that product dominates.
# The window is local in space; can the layer also be sparse in the channels?
#
# ### Groups
#
# Divide the input channels into $g$ groups of equal size, the output channels too, and let each group of outputs see one group of inputs.
# This is a *grouped convolution*.
# Each output channel has $c_\mathrm{i}/g$ input channels instead of $c_\mathrm{i}$, so that weights and MACs fall by the factor $g$:
#
# $$
# \mathrm{weights} = \frac{c_\mathrm{i}\, c_\mathrm{o}}{g}\, k_h k_w. \tag{7.4.9}
# $$
#
# Here $g$ must divide $c_\mathrm{i}$ and $c_\mathrm{o}$; with $g = 1$ it is the ordinary layer.
# From the parts that we have it takes one line: convolve the groups one by one, and join the results.

# %%
def conv2d_grouped(X, K, groups, padding=0):
    """X (n, ci, h, w) with K (co, ci / groups, kh, kw)."""
    return torch.cat([conv2d_im2col(x, k, padding) for x, k in zip(
        X.chunk(groups, dim=1), K.chunk(groups), strict=True)], dim=1)


def block_diagonal(K, groups):
    """The dense kernel (co, ci, kh, kw) that does what the groups do."""
    co, ci, kh, kw = K.shape[0], K.shape[1] * groups, *K.shape[2:]
    dense = K.new_zeros(co, ci, kh, kw)
    outs, ins = co // groups, ci // groups
    for g, block in enumerate(K.chunk(groups)):
        dense[g * outs:(g + 1) * outs, g * ins:(g + 1) * ins] = block
    return dense

# %%
# check 7.4-C6: weights fall by g; groups are a block-diagonal kernel
torch.manual_seed(0)
maps = torch.randn(2, 16, 8, 8, dtype=f64)
kernels = {}
for g, weights in zip((1, 2, 4, 8, 16), (2304, 1152, 576, 288, 144)):
    layer = nn.Conv2d(16, 16, 3, padding=1, groups=g, bias=False).double()
    kernels[g] = layer.weight.detach()  # (16, 16 / g, 3, 3)
    assert count_params(layer) == kernels[g].numel() == weights
    assert count_macs(layer, (1, 16, 8, 8))["Conv2d"] == 64 * weights
    Y = layer(maps).detach()
    torch.testing.assert_close(
        F.conv2d(maps, block_diagonal(kernels[g], g), padding=1), Y)
    torch.testing.assert_close(conv2d_grouped(maps, kernels[g], g, 1), Y)

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 4, figsize=(7.2, 2.2))
for ax, g in zip(axes, (1, 2, 4, 16)):
    size = block_diagonal(kernels[g], g).abs().sum(dim=(2, 3))
    ax.imshow(size > 0, cmap="Blues", vmin=0, vmax=1.6)
    ax.set(title=f"g = {g}, {kernels[g].numel()} weights",
           xlabel="input channel", xticks=[0, 5, 10, 15],
           yticks=[0, 5, 10, 15])
    ax.grid(False)
axes[0].set_ylabel("output channel")
d2l.describe(axes, """Which output channel sees which input channel, for 16
    channels each. One group: all of them. Two groups: two blocks of 8 by 8
    on the diagonal. Four groups: four blocks of 4 by 4. Sixteen groups:
    the diagonal only.""")

# %% [markdown]
# **Figure 7.4.5.** Coloured: pairs of channels that are connected, each by one $3 \times 3$ kernel.
# A grouped convolution is a dense one whose matrix of channels is block-diagonal.
#
# The white area is what we give up.
# The groups exchange no information, and stacking layers with the same groups does not help, since a product of block-diagonal matrices is block-diagonal.
# Some other layer has to mix the groups (Exercise 7.4-5).
#
# ### Depthwise-separable convolution
#
# The extreme is $g = c_\mathrm{i}$: each channel is filtered on its own, which is called a *depthwise* convolution.
# It looks at the neighbours and does not mix channels.
# A $1 \times 1$ convolution does the opposite, so the two complete each other.
# One after the other they form a *depthwise-separable* convolution.
# Its weights, compared with those of the ordinary layer, are
#
# $$
# \frac{c_\mathrm{i} k^2 + c_\mathrm{i} c_\mathrm{o}}{c_\mathrm{i} c_\mathrm{o} k^2} = \frac{1}{c_\mathrm{o}} + \frac{1}{k^2}, \tag{7.4.10}
# $$
#
# where $k$ is the side of the kernel.
# If the size is kept, the ratio of the MACs is the same.
# For $3 \times 3$ kernels and many channels it comes near 1/9.

# %%
def separable(ci, co, k):
    """Depthwise, then 1x1; keeps the size for odd k."""
    return nn.Sequential(
        nn.Conv2d(ci, ci, k, padding=k // 2, groups=ci, bias=False),
        nn.Conv2d(ci, co, 1, bias=False))


torch.manual_seed(0)
standard = nn.Conv2d(16, 32, 3, padding=1, bias=False)
sep = separable(16, 32, 3)
print("weights:", count_params(standard), "and", count_params(sep))

# %%
# check 7.4-C7: 656 against 4608 weights, the ratio of (7.4.10)
assert count_params(standard) == 4608
assert count_params(sep) == 144 + 512 == 656
ratio = 1 / 32 + 1 / 9
assert abs(656 / 4608 - ratio) < 1e-12 and round(ratio, 4) == 0.1424
shape = (1, 16, 20, 20)
assert count_macs(standard, shape)["Conv2d"] == 400 * 4608
assert count_macs(sep, shape) == {"0": 400 * 144, "1": 400 * 512}

# %% [markdown]
# What is given up here?
# By (7.4.4) the two layers are one ordinary convolution.
# Its kernel for the pair $(d, c)$ is the depthwise kernel of channel $c$, times one number.
# All output channels thus look at input channel $c$ through the same spatial filter, and differ in how strongly they weigh it.
# An ordinary layer may use a different filter for each output.

# %%
depthwise, pointwise = (layer.weight.detach() for layer in sep)
dense = torch.einsum("dc,cab->dcab", pointwise[:, :, 0, 0],
                     depthwise[:, 0])                 # (32, 16, 3, 3)
inputs = torch.randn(2, 16, 9, 9)
torch.testing.assert_close(F.conv2d(inputs, dense, padding=1),
                           sep(inputs).detach())
for kernel, rank in ((dense, 1), (standard.weight.detach(), 9)):
    filters = kernel[:, 3].flatten(1)  # (32, 9): those for input channel 3
    assert torch.linalg.matrix_rank(filters) == rank

# %% [markdown]
# A third remedy is the *bottleneck*: a $1 \times 1$ layer reduces the channels, the $3 \times 3$ layer works on few, and another $1 \times 1$ layer restores the number.
# The figure compares the remedies for a layer from 128 to 128 channels on $32 \times 32$ pixels, counted by `count_macs`.

# %%
def conv3(ci, co, g=1):
    return nn.Conv2d(ci, co, 3, padding=1, groups=g, bias=False)


candidates = {
    "standard": nn.Sequential(conv3(128, 128)),
    "4 groups": nn.Sequential(conv3(128, 128, 4)),
    "32 groups": nn.Sequential(conv3(128, 128, 32)),
    "separable": separable(128, 128, 3),
    "bottleneck to 32": nn.Sequential(
        nn.Conv2d(128, 32, 1, bias=False), conv3(32, 32),
        nn.Conv2d(32, 128, 1, bias=False))}
parts = {}
for name, net in candidates.items():
    macs = count_macs(net, (1, 128, 32, 32))
    spatial = sum(macs[n] for n, m in net.named_children()
                  if m.kernel_size == (3, 3))
    parts[name] = (spatial / 1e6, (sum(macs.values()) - spatial) / 1e6)

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 2.6))
spatial, pointwise = zip(*parts.values())
ax.barh(list(parts), spatial, color="C0", label="3 x 3 layers")
ax.barh(list(parts), pointwise, left=spatial, color="C1",
        label="1 x 1 layers")
for i, total in enumerate(map(sum, parts.values())):
    ax.text(total + 2, i, f"{total:.1f}", va="center")
ax.set(xlabel="million MACs per image", xlim=(0, 170))
ax.invert_yaxis()
ax.grid(axis="y", visible=False)
ax.legend(loc="lower right")
d2l.describe(ax, """Bars of the multiply-accumulates of five layers from 128
    to 128 channels. Standard 151 million, 4 groups 37.7, 32 groups 4.7,
    separable 18.0 of which 16.8 are in its 1 by 1 layer, bottleneck 17.8,
    about half of it in 1 by 1 layers.""")

# %% [markdown]
# **Figure 7.4.6.** Work of one layer and of its cheaper relatives.
# In a separable convolution nearly everything is spent on mixing channels; the filtering itself is almost free.

# %%
total = {name: sum(p) for name, p in parts.items()}
assert abs(total["4 groups"] / total["standard"] - 1 / 4) < 1e-12
assert abs(total["separable"] / total["standard"] - 1/128 - 1/9) < 1e-12
assert parts["separable"][1] > 0.9 * total["separable"]
assert total["bottleneck to 32"] < total["separable"]

# %% [markdown]
# Fewer MACs are not in the same measure fewer seconds.
# A depthwise layer uses each number that it fetches for 9 products, where the standard layer has 9 for each of its 128 outputs, and a machine that waits for memory cannot reach its full rate.
# How much that matters depends on the machine and the library; here are the rates of the one that ran this cell.

# %% tags=["timing"]
activations = torch.randn(1, 128, 32, 32)
for name, layer in (("standard", candidates["standard"][0]),
                    ("depthwise", candidates["separable"][0]),
                    ("1 x 1", candidates["separable"][1])):
    ms = milliseconds(lambda: layer(activations), repeat=10)
    work = count_macs(layer, activations.shape)["Conv2d"]
    print(f"{name:9s} {work / 1e6:6.1f} million MACs in {ms:.3f} ms: "
          f"{work / 1e6 / ms:.1f} billion per second")

# %% [markdown]
# ## The order in memory
#
# The shape of a tensor says how it is indexed, not how it lies in memory.
# The link between both are the *strides*, one for each axis:
#
# $$
# \mathrm{address}(n, c, i, j) = n\,s_n + c\,s_c + i\,s_h + j\,s_w. \tag{7.4.11}
# $$
#
# Here $n$, $c$, $i$, $j$ are the indices of image, channel, row and column, counted from 0; $s_n$, $s_c$, $s_h$, $s_w$ are the strides, in elements; the address counts from the first element.
# These strides have nothing to do with the stride of a window.
# By default a tensor of shape (2, 3, 4, 5) has the strides (60, 20, 5, 1): the pixels of one channel lie together.
# With the memory format `channels_last` the channels of one pixel lie together.
# Only the strides change; the shape, the indices and the values stay.

# %%
T = torch.arange(120.0).reshape(2, 3, 4, 5)
T_last = T.to(memory_format=torch.channels_last)
for name, t in (("default", T), ("channels_last", T_last)):
    print(f"{name:14s} shape {tuple(t.shape)} strides {t.stride()}")

# %%
# check 7.4-C8: other strides, same shape and values
assert T.stride() == (60, 20, 5, 1)
assert T_last.stride() == (60, 1, 15, 3)
assert T_last.shape == T.shape and torch.equal(T_last, T)
assert T_last[1, 2, 3, 4] == T[1, 2, 3, 4] == 119

# %% tags=["hide-input"]
small = torch.zeros(1, 3, 2, 4)
_, axes = plt.subplots(2, 3, figsize=(5.6, 2.6))
for row, (name, form) in zip(axes, (
        ("default", torch.contiguous_format),
        ("channels_last", torch.channels_last))):
    strides = small.to(memory_format=form).stride()
    address = torch.arange(24).as_strided(small.shape, strides)
    for c, ax in enumerate(row):
        grid(ax, address[0, c], f"{name}, channel {c}", {(0, 0)})
d2l.describe(axes, """Addresses of the elements of three channels of 2 by 4
    pixels. By default channel 0 has the addresses 0 to 7, channel 1 has 8
    to 15, channel 2 has 16 to 23. In channels_last the first pixel has the
    addresses 0, 1, 2 in the three channels, the next pixel 3, 4, 5.""")

# %% [markdown]
# **Figure 7.4.7.** Where each element lies in memory, counted from 0; the first pixel is marked in all channels.
# By default its three values are far apart, in `channels_last` they are neighbours.
#
# The second order suits the matrix product, whose columns collect all channels of a pixel.
# A $1 \times 1$ convolution then needs no rearrangement at all, since the pixels are already the rows of a matrix.
# Many libraries have faster kernels for it, above all on GPUs in half precision; `net.to(memory_format=torch.channels_last)` and the same for the inputs is all that is needed.
# One thing breaks: `view` needs axes in the default order, and must become `reshape`, which copies where it has to.

# %%
rows = T_last.permute(0, 2, 3, 1).view(-1, 3)        # (pixels, channels)
assert rows.data_ptr() == T_last.data_ptr()          # no copy
W = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])
torch.testing.assert_close(
    (rows @ W.T).view(2, 4, 5, 2).permute(0, 3, 1, 2),
    F.conv2d(T, W[:, :, None, None]))
try:
    T_last.view(2, -1)
except RuntimeError as error:
    print(str(error).split(" (")[0])
assert torch.equal(T_last.reshape(2, -1), T.view(2, -1))

# %% [markdown]
# ## Summary
#
# - Each output channel correlates every input channel with a kernel of its own and adds: local and shared in space, dense over the channels.
# - A $1 \times 1$ convolution is a dense layer at each pixel; convolutions without a nonlinearity in between merge into one, whose kernel is the convolution of both.
# - The cost is $h'w' k_h k_w c_\mathrm{i} c_\mathrm{o}$ MACs; backward takes twice as much; doubling channels while halving the side keeps it constant.
# - `im2col` turns the layer into one matrix product, at the price of repeating each pixel up to $k_h k_w$ times.
# - Groups divide weights and MACs by $g$ and separate the channels; a depthwise-separable layer costs $1/c_\mathrm{o} + 1/k^2$ and gives all outputs the same spatial filters.
# - `channels_last` changes strides, not shapes or values.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 7.4-1
#
# A kernel of side $k_1$ is followed by one of side $k_2$, without a nonlinearity.
# Prove that a single kernel does the same, and give its side.
# Is the converse true, that each kernel of this side is such a composition?
# Test it for a $3 \times 3$ kernel that is to be split into $3 \times 1$ and $1 \times 3$.

# %% [markdown]
# #### Solution 7.4-1

# %% [markdown]
# The proof is (7.4.4) in both directions of space: $s = a + b$ with $a = 0, \dots, k_1-1$ and $b = 0, \dots, k_2-1$ takes the values $0, \dots, k_1+k_2-2$, so the side is $k_1+k_2-1$.
# The kernel is the convolution of the two.

# %%
rng = torch.Generator().manual_seed(6)
for k1 in (1, 2, 3, 5):
    for k2 in (1, 3, 4):
        A = torch.randn(3, 2, k1, k1, dtype=f64, generator=rng)
        B = torch.randn(2, 3, k2, k2, dtype=f64, generator=rng)
        X_ex = torch.randn(1, 2, 12, 12, dtype=f64, generator=rng)
        one = merge(A, B)
        assert one.shape[2:] == (k1 + k2 - 1, k1 + k2 - 1)
        torch.testing.assert_close(F.conv2d(X_ex, one),
                                   F.conv2d(F.conv2d(X_ex, A), B))

# %% [markdown]
# The converse is false.
# A column followed by a row gives their outer product, a matrix of rank 1.
# The Laplacian has rank 2, and even the best such pair misses it by its second singular value.

# %%
column = torch.randn(1, 1, 3, 1, dtype=f64, generator=rng)
row = torch.randn(1, 1, 1, 3, dtype=f64, generator=rng)
X_ex = torch.randn(1, 1, 8, 8, dtype=f64, generator=rng)
product = column @ row                                   # (1, 1, 3, 3)
torch.testing.assert_close(F.conv2d(F.conv2d(X_ex, column), row),
                           F.conv2d(X_ex, product))
assert torch.linalg.matrix_rank(product[0, 0]) == 1

laplacian = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=f64)
U, S, Vh = torch.linalg.svd(laplacian)
error = torch.linalg.matrix_norm(laplacian - S[0] * U[:, :1] @ Vh[:1])
print("rank", torch.linalg.matrix_rank(laplacian).item(),
      f"- distance to the nearest product {error:.3f}")
assert torch.linalg.matrix_rank(laplacian) == 2
torch.testing.assert_close(error, S[1])

# %% [markdown]
# ### Exercise 7.4-2
#
# A layer with a kernel of $c_\mathrm{o} \times c_\mathrm{i} \times k_h \times k_w$, bias, padding $p$ on each side and stride $s$ gets an image of $c_\mathrm{i} \times h \times w$.
# Give the MACs of the forward pass, the numbers that are stored (parameters, output, and what backward needs of the input), and the MACs of the backward pass.

# %% [markdown]
# #### Solution 7.4-2

# %% [markdown]
# With $h'$ and $w'$ from [Section 7.3](03-padding-and-stride.ipynb): forward (7.4.5); parameters $c_\mathrm{o}(c_\mathrm{i} k_h k_w + 1)$; output $c_\mathrm{o} h' w'$; the input, $c_\mathrm{i} h w$ numbers, has to be kept for the gradient of the weights.
# Backward takes twice the forward pass, and only once if the input needs no gradient, as in the first layer of a network.

# %%
def layer_cost(ci, co, k, size, padding=0, stride=1):
    """MACs, parameters, outputs, inputs kept; one image."""
    h, w = (conv_out(n, m, padding, stride) for n, m in zip(size, k))
    weights = co * ci * k[0] * k[1]
    return h * w * weights, weights + co, co * h * w, ci * size[0] * size[1]


for ci, co, k, size, p, s in ((3, 64, (7, 7), (64, 48), 3, 2),
                              (16, 8, (3, 5), (10, 20), 1, 1)):
    layer = nn.Conv2d(ci, co, k, stride=s, padding=p)
    macs, params, outputs, kept = layer_cost(ci, co, k, size, p, s)
    assert count_macs(layer, (1, ci, *size)) == {"Conv2d": macs}
    assert count_params(layer) == params
    for needs_grad, factor in ((True, 2), (False, 1)):
        X_ex = torch.zeros(1, ci, *size, requires_grad=needs_grad)
        Y = layer(X_ex)
        assert Y.numel() == outputs and X_ex.numel() == kept
        with FlopCounterMode(display=False) as counter:
            Y.sum().backward()
        assert counter.get_total_flops() == 2 * factor * macs

# %% [markdown]
# ### Exercise 7.4-3
#
# By which factor do the MACs of a layer grow if both numbers of channels are doubled?
# By which if the padding is doubled?

# %% [markdown]
# #### Solution 7.4-3

# %% [markdown]
# Doubling both channels gives the factor 4, exactly.
# Doubling the padding on each side from $p$ to $2p$ lengthens each side of the output by $2p$ at stride 1, so the factor is $\bigl(\frac{n+4p-k+1}{n+2p-k+1}\bigr)^2$ for a square of side $n$, close to 1 for large images.

# %%
def work(c, n, padding):
    layer = nn.Conv2d(c, c, 3, padding=padding, device="meta")
    return count_macs(layer, (1, c, n, n))["Conv2d"]


assert work(64, 32, 1) == 4 * work(32, 32, 1)
for n in (8, 32, 224):
    factor = work(16, n, 2) / work(16, n, 1)
    exact = (conv_out(n, 3, 2) / conv_out(n, 3, 1)) ** 2
    print(f"side {n:3d}: factor {factor:.4f}")
    assert abs(factor - exact) < 1e-12
    assert abs(exact - ((n + 2) / n) ** 2) < 1e-12  # k = 3, p = 1
assert factor < 1.02

# %% [markdown]
# ### Exercise 7.4-4
#
# The results `Y1` and `Y2` of the $1 \times 1$ convolution were compared with a tolerance.
# Are they equal to the last bit?
# On what does it depend?

# %% [markdown]
# #### Solution 7.4-4

# %% [markdown]
# In general they are not.
# Floating-point addition rounds, so it is not associative, and the matrix product may add in another order than the loop, or round once for a multiplication and an addition together.
# Which order it takes depends on the library, the processor and the sizes.
# Where no rounding occurs, as with small integers, any order gives the same bits.

# %%
a, b, c = torch.tensor([1e8, 1.0, -1e8])   # float32
print("(a + b) + c =", ((a + b) + c).item(),
      "  (a + c) + b =", ((a + c) + b).item())
assert (a + b) + c == 0 and (a + c) + b == 1
assert torch.allclose(Y1, Y2, atol=1e-6)

rng = torch.Generator().manual_seed(7)
X_int = torch.randint(-9, 10, (64, 5, 5), generator=rng).float()
K_int = torch.randint(-9, 10, (8, 64, 1, 1), generator=rng).float()
assert torch.equal(corr2d_1x1(X_int, K_int),
                   corr2d_multi_in_out(X_int, K_int))

# %% [markdown]
# ### Exercise 7.4-5
#
# A square matrix of side $n$ is block-diagonal with $b$ equal blocks.
# By which factor is its product with a vector cheaper?
# What is lost in a network of such layers, and how can a permutation of the channels repair it?

# %% [markdown]
# #### Solution 7.4-5

# %% [markdown]
# There are $b$ blocks of $(n/b)^2$ multiplications, together $n^2/b$: the factor is $b$.
# Lost is the exchange between blocks, however many layers follow.
# A *channel shuffle* deals the channels out like cards, so that each group of the next layer gets some from every group: write the channels as a table with one row per group, and read it by columns.
# It moves numbers and multiplies nothing.

# %%
def channel_shuffle(X, groups):
    """Reorder the channels of X (n, c, h, w): one from each group."""
    return X.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


order = channel_shuffle(torch.arange(12).reshape(1, 12, 1, 1), 3)
print(order.flatten().tolist())
assert order.flatten().sort().values.tolist() == list(range(12))
assert torch.equal(order, nn.ChannelShuffle(3)(
    torch.arange(12.0).reshape(1, 12, 1, 1)).long())

# %% [markdown]
# Which inputs reach which outputs through two layers?
# We let both layers have four groups of four channels, all weights 1, and look at the matrix of the whole.

# %%
def reach(shuffle, c=16, groups=4):
    """(c, c): whether an output depends on an input, two layers."""
    ones = torch.ones(c, c // groups, 1, 1)
    X = torch.eye(c).reshape(c, c, 1, 1)   # one image for each channel
    X = F.conv2d(X, ones, groups=groups)
    X = channel_shuffle(X, groups) if shuffle else X
    return F.conv2d(X, ones, groups=groups)[:, :, 0, 0].T > 0


print("connected pairs without and with shuffle:",
      int(reach(False).sum()), int(reach(True).sum()), "of", 16 * 16)
assert reach(False).sum() == 16 * 4 and reach(True).all()
for b in (1, 2, 4, 8):
    layer = nn.Conv1d(64, 64, 1, groups=b)  # b blocks on the diagonal
    assert count_macs(layer, (1, 64, 1))["Conv1d"] * b == 64**2

# %% [markdown]
# ### Exercise 7.4-6
#
# Fast memory is small, so an image is processed in strips.
# A strip holds the inputs for $\Delta$ neighbouring columns of the output.
# How many columns of the input must be read for each column of the output, if the kernel is $k$ wide and nothing is kept from strip to strip?
# What about square tiles?

# %% [markdown]
# #### Solution 7.4-6

# %% [markdown]
# The windows of $\Delta$ neighbouring columns together cover $k + \Delta - 1$ columns, so each column of the output costs $(k+\Delta-1)/\Delta$ reads: $k$ for $\Delta = 1$, close to 1 for a wide strip.
# For a square tile the number is squared: $\bigl((k+\Delta-1)/\Delta\bigr)^2$ pixels for each pixel of the output.
# We count the columns that a strip touches from the windows themselves, and compare the result of the strips with that of the whole.

# %%
rng = torch.Generator().manual_seed(8)
k, X_ex = 5, torch.randn(1, 2, 9, 52, dtype=f64, generator=rng)
K_ex = torch.randn(3, 2, k, k, dtype=f64, generator=rng)
whole = F.conv2d(X_ex, K_ex)                     # 48 columns
for width in (1, 2, 4, 16, 48):
    strips, reads = [], 0
    for start in range(0, 48, width):
        needed = {j + b for j in range(start, start + width)
                  for b in range(k)}
        strip = X_ex[..., min(needed):max(needed) + 1]
        reads += strip.shape[-1]
        strips.append(F.conv2d(strip, K_ex))
    torch.testing.assert_close(torch.cat(strips, dim=-1), whole)
    assert reads * width == 48 * (k + width - 1)
    print(f"strip of {width:2d} columns: {reads / 48:.2f} reads per column")

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the two-channel example and several of the exercises.
# - M. Lin, Q. Chen, S. Yan (2014). Network in network. [arXiv:1312.4400](https://arxiv.org/abs/1312.4400): $1 \times 1$ layers with nonlinearities, a small perceptron at each pixel.
# - K. Chellapilla, S. Puri, P. Simard (2006). High performance convolutional neural networks for document processing. Tenth International Workshop on Frontiers in Handwriting Recognition. [inria-00112631](https://inria.hal.science/inria-00112631): the convolution as one matrix product.
# - A. Krizhevsky, I. Sutskever, G. E. Hinton (2012). ImageNet classification with deep convolutional neural networks. [doi:10.1145/3065386](https://doi.org/10.1145/3065386): groups, to divide a network between two GPUs.
# - A. Lavin, S. Gray (2015). Fast algorithms for convolutional neural networks. [arXiv:1509.09308](https://arxiv.org/abs/1509.09308): fewer multiplications for small kernels.
# - F. Chollet (2017). Xception: deep learning with depthwise separable convolutions. [arXiv:1610.02357](https://arxiv.org/abs/1610.02357).
# - K. He, X. Zhang, S. Ren, J. Sun (2016). Deep residual learning for image recognition. [arXiv:1512.03385](https://arxiv.org/abs/1512.03385): bottlenecks.
# - X. Zhang, X. Zhou, M. Lin, J. Sun (2018). ShuffleNet. [arXiv:1707.01083](https://arxiv.org/abs/1707.01083): the channel shuffle.
# - C. Olah, A. Mordvintsev, L. Schubert (2017). Feature visualization. [doi:10.23915/distill.00007](https://doi.org/10.23915/distill.00007): directions in the space of channels, beside single channels.
# - PyTorch documentation, [channels last memory format](https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html) and [nn.Unfold](https://docs.pytorch.org/docs/stable/generated/torch.nn.Unfold.html).
