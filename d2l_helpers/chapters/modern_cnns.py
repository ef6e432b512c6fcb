"""Chapter 8, Modern convolutional neural networks: what its sections teach and later ones use.

Generated from book/08-modern-cnns/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import math
import torch
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.convolutional_neural_networks import count_macs
from d2l_helpers.chapters.convolutional_neural_networks import layer_summary
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.linear_classification import FashionMNIST
from d2l_helpers.chapters.linear_classification import scale_bytes
from d2l_helpers.chapters.linear_regression import Trainer
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.checkpoint import checkpoint


# 8.1 AlexNet
def scaled(channels, width):
    """`channels` times `width`, rounded to an integer of at least 1."""
    if not width > 0:
        raise ValueError(f"width is {width}; it must be positive.")
    return max(1, round(channels * width))


# 8.1 AlexNet
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


# 8.1 AlexNet
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


# 8.1 AlexNet
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


# 8.1 AlexNet
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


# 8.1 AlexNet
def fit_quietly(model, data, epochs, optimizer=None, seed=0, num_gpus=0,
                trainer=Trainer):
    """Train with the book's Trainer, or another kind, without a picture.

    `optimizer` is called with the parameters and returns an optimizer;
    without it the model's own is used. `seed` sets the order of the
    training images and PyTorch's global generator, from which dropout
    draws. Returns the history: a dict of lists with one mean per epoch,
    "train_loss", "val_loss", "val_acc". Afterwards the model has its own
    `configure_optimizers` and display again, and kernels have their
    channels last in memory.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; it must be at least 1.")
    if any(is_lazy(p) for p in model.parameters()):
        raise ValueError("the model has lazy parameters; initialize it "
                         "with apply_init first.")
    display, own = model.board.display, vars(model).get(
        "configure_optimizers")  # set on this instance, rarely
    model.to(memory_format=torch.channels_last)
    data.generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    trainer = trainer(max_epochs=epochs, num_gpus=num_gpus)
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


# 8.2 VGG
def vgg_block(num_convs, out_channels):
    """`num_convs` convolutions 3x3, each with ReLU; halved by pooling."""
    layers = []
    for _ in range(num_convs):
        layers += [nn.LazyConv2d(out_channels, kernel_size=3, padding=1),
                   nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(kernel_size=2, stride=2))


# 8.2 VGG
class VGG(Classifier):
    """A VGG network; returns scores (n, num_classes).

    `arch` lists (number of convolutions, channels) for each block, such as
    VGG11; `width` multiplies the channels, `fc` is the width of the dense
    layers. An input (n, channels, h, w) of at least 32 by 32 suits the
    five blocks of the published networks.
    """

    def __init__(self, arch, lr=0.01, num_classes=10, fc=4096, width=1.0):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            *(vgg_block(n, scaled(c, width)) for n, c in arch),
            nn.Flatten(),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(fc), nn.ReLU(), nn.Dropout(0.5),
            nn.LazyLinear(num_classes))


# 8.2 VGG
VGG11 = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))
VGG13 = ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512))
VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
VGG19 = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


# 8.2 VGG
class RepBlock(nn.Module):
    """relu(bn(conv3x3(X)) + bn(conv1x1(X)) + bn(X)), shape kept.

    X has shape (n, c, h, w). `fuse` gives one convolution that computes
    the sum in front of the ReLU as this block does in evaluation mode.
    """

    def __init__(self, c):
        super().__init__()
        self.convs = nn.ModuleList([
            nn.Conv2d(c, c, kernel_size=3, padding=1, bias=False),
            nn.Conv2d(c, c, kernel_size=1, bias=False)])
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for _ in range(3))

    def forward(self, X):
        branches = [self.convs[0](X), self.convs[1](X), X]
        return torch.relu(sum(norm(branch) for norm, branch in
                              zip(self.norms, branches)))

    def fuse(self):
        """An nn.Conv2d, 3x3 with bias, on the device of the block."""
        large, small = (conv.weight for conv in self.convs)
        c = len(large)
        eye = torch.eye(c).to(large)[:, :, None, None]  # (c, c, 1, 1)
        kernels = [large] + [nn.functional.pad(kernel, (1, 1, 1, 1))
                             for kernel in (small, eye)]
        weight, bias = torch.zeros_like(large), large.new_zeros(c)
        for kernel, norm in zip(kernels, self.norms):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight += scale[:, None, None, None] * kernel
            bias += norm.bias - scale * norm.running_mean
        fused = nn.Conv2d(c, c, 3, padding=1, device="meta")  # draws nothing
        fused.weight, fused.bias = nn.Parameter(weight), nn.Parameter(bias)
        return fused


# 8.3 Network in network (NiN)
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


# 8.3 Network in network (NiN)
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


# 8.3 Network in network (NiN)
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


# 8.4 GoogLeNet and Inception
def conv_relu(out_channels, kernel_size, norm=False, **options):
    """Convolution and ReLU; with `norm` batch normalization in between."""
    return nn.Sequential(
        nn.LazyConv2d(out_channels, kernel_size, **options),
        *([nn.LazyBatchNorm2d()] if norm else []), nn.ReLU())


# 8.4 GoogLeNet and Inception
class Inception(nn.Module):
    """Four branches side by side, their channels concatenated.

    `c1` and `c4` are the channels of the 1x1 and of the pooling branch;
    `c2` and `c3` are pairs (reduction, channels) of the 3x3 and of the 5x5
    branch. (n, c, h, w) -> (n, c1 + c2[1] + c3[1] + c4, h, w).
    """

    def __init__(self, c1, c2, c3, c4, norm=False):
        super().__init__()
        self.branches = nn.ModuleList([
            conv_relu(c1, 1, norm),
            nn.Sequential(conv_relu(c2[0], 1, norm),
                          conv_relu(c2[1], 3, norm, padding=1)),
            nn.Sequential(conv_relu(c3[0], 1, norm),
                          conv_relu(c3[1], 5, norm, padding=2)),
            nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1),
                          conv_relu(c4, 1, norm))])

    def forward(self, X):
        return torch.cat([branch(X) for branch in self.branches], dim=1)


# 8.4 GoogLeNet and Inception
class InceptionNet(Classifier):
    """Five parts b1() to b5() of a subclass, and a dense layer on top.

    Returns scores (n, num_classes). `width` multiplies the channels, `norm`
    adds batch normalization after each convolution.
    """

    def __init__(self, lr=0.01, num_classes=10, width=1.0, norm=False):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            self.b1(), self.b2(), self.b3(), self.b4(), self.b5(),
            nn.LazyLinear(num_classes))

    def conv(self, channels, kernel_size, **options):
        return conv_relu(scaled(channels, self.width), kernel_size,
                         self.norm, **options)

    def inception(self, *channels):
        """An Inception block (c1, c2, c3, c4) with scaled channels."""
        c1, c2, c3, c4 = (
            tuple(scaled(n, self.width) for n in c) if isinstance(c, tuple)
            else scaled(c, self.width) for c in channels)
        return Inception(c1, c2, c3, c4, self.norm)

    def pool(self):
        return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)


# 8.4 GoogLeNet and Inception
class GoogLeNet(InceptionNet):
    """GoogLeNet without auxiliary heads, for images of any size.

    In training with `norm` a part with one position needs more than one
    image in the batch, as every batch normalization does.
    """

    def b1(self):
        return nn.Sequential(self.conv(64, 7, stride=2, padding=3),
                             self.pool())

    def b2(self):
        return nn.Sequential(self.conv(64, 1), self.conv(192, 3, padding=1),
                             self.pool())

    def b3(self):
        return nn.Sequential(
            self.inception(64, (96, 128), (16, 32), 32),
            self.inception(128, (128, 192), (32, 96), 64), self.pool())

    def b4(self):
        return nn.Sequential(
            self.inception(192, (96, 208), (16, 48), 64),
            self.inception(160, (112, 224), (24, 64), 64),
            self.inception(128, (128, 256), (24, 64), 64),
            self.inception(112, (144, 288), (32, 64), 64),
            self.inception(256, (160, 320), (32, 128), 128), self.pool())

    def b5(self):
        return nn.Sequential(
            self.inception(256, (160, 320), (32, 128), 128),
            self.inception(384, (192, 384), (48, 128), 128),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())


# 8.5 Batch normalization
def batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum,
               training):
    """Normalize X (n, d) or (n, c, h, w) over all axes but the second.

    In training by the statistics of the batch, else by `moving_mean` and
    `moving_var`. `gamma`, `beta` and the moving statistics have shape (d,)
    or (c,). Returns the output and the new moving mean and variance;
    nothing is changed in place.
    """
    if X.ndim not in (2, 4):
        raise ValueError(f"batch_norm got an input of shape "
                         f"{tuple(X.shape)}; it takes (n, d) or "
                         f"(n, c, h, w).")
    axes = (0,) if X.ndim == 2 else (0, 2, 3)
    shape = (1, -1) if X.ndim == 2 else (1, -1, 1, 1)
    mean, var = moving_mean, moving_var
    if training:
        count = X.numel() // X.shape[1]  # values per feature or channel
        if count < 2:
            raise ValueError(f"a batch of shape {tuple(X.shape)} has one "
                             "value per feature and no variance; train "
                             "with at least two examples.")
        mean = X.mean(dim=axes)
        var = ((X - mean.view(shape)) ** 2).mean(dim=axes)  # biased
        moving_mean = ((1 - momentum) * moving_mean
                       + momentum * mean.detach())
        moving_var = ((1 - momentum) * moving_var
                      + momentum * var.detach() * count / (count - 1))
    X_hat = (X - mean.view(shape)) / torch.sqrt(var.view(shape) + eps)
    Y = gamma.view(shape) * X_hat + beta.view(shape)
    return Y, moving_mean, moving_var


# 8.5 Batch normalization
class BatchNorm(nn.Module):
    """Batch normalization for inputs (n, d) or (n, c, h, w).

    `num_features` is d or c, `num_dims` is 2 or 4. `momentum` is the
    weight of the new batch in the moving statistics, which are buffers:
    saved, loaded and moved with the module, and updated in place.
    """

    def __init__(self, num_features, num_dims, eps=1e-5, momentum=0.1):
        super().__init__()
        if num_dims not in (2, 4):
            raise ValueError(f"num_dims is {num_dims}; it must be 2 for "
                             "inputs (n, d) or 4 for (n, c, h, w).")
        self.num_dims, self.eps, self.momentum = num_dims, eps, momentum
        self.gamma = nn.Parameter(torch.ones(num_features))
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("moving_mean", torch.zeros(num_features))
        self.register_buffer("moving_var", torch.ones(num_features))

    def forward(self, X):
        if X.ndim != self.num_dims:
            raise ValueError(f"BatchNorm was made for {self.num_dims} axes "
                             f"and got an input {tuple(X.shape)}.")
        Y, mean, var = batch_norm(
            X, self.gamma, self.beta, self.moving_mean, self.moving_var,
            self.eps, self.momentum, self.training)
        if self.training:
            self.moving_mean.copy_(mean)
            self.moving_var.copy_(var)
        return Y


# 8.5 Batch normalization
class BNLeNetScratch(Classifier):
    """LeNet with a normalization before each activation.

    Returns scores (n, num_classes) for images (n, 1, 28, 28).
    `norm(c, num_dims)` makes the layer for c channels or features of
    inputs with 4 or 2 axes; `activation` is called without arguments.
    """

    def __init__(self, lr=0.1, num_classes=10, norm=BatchNorm,
                 activation=nn.Sigmoid):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5), norm(6, 4), activation(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5), norm(16, 4), activation(),
            nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(256, 120), norm(120, 2), activation(),
            nn.Linear(120, 84), norm(84, 2), activation(),
            nn.Linear(84, num_classes))


# 8.5 Batch normalization
class BNLeNet(Classifier):
    """LeNet with batch normalization, of PyTorch's lazy layers.

    Returns scores (n, num_classes) for images (n, channels, 28, 28).
    """

    def __init__(self, lr=0.1, num_classes=10):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.LazyConv2d(6, kernel_size=5), nn.LazyBatchNorm2d(),
            nn.Sigmoid(), nn.AvgPool2d(2),
            nn.LazyConv2d(16, kernel_size=5), nn.LazyBatchNorm2d(),
            nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
            nn.LazyLinear(120), nn.LazyBatchNorm1d(), nn.Sigmoid(),
            nn.LazyLinear(84), nn.LazyBatchNorm1d(), nn.Sigmoid(),
            nn.LazyLinear(num_classes))


# 8.5 Batch normalization
def layer_norm(X, eps=1e-5):
    """X (..., d), each vector along the last axis standardized."""
    mean = X.mean(dim=-1, keepdim=True)
    var = ((X - mean) ** 2).mean(dim=-1, keepdim=True)
    return (X - mean) / torch.sqrt(var + eps)


# 8.5 Batch normalization
def fold_bn(conv, bn):
    """One convolution that computes bn(conv(X)) in evaluation mode.

    `conv` is an nn.Conv2d, `bn` an affine nn.BatchNorm2d with its statistics;
    both stay as they are. The result has the type and device of `conv`.
    """
    folded = nn.Conv2d(  # "meta": no memory, and nothing is drawn
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,
        conv.padding, conv.dilation, conv.groups,
        padding_mode=conv.padding_mode, device="meta")
    bias = 0 if conv.bias is None else conv.bias
    with torch.no_grad():
        scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)  # (c_o,)
        weight = conv.weight * scale[:, None, None, None]
        bias = (bias - bn.running_mean) * scale + bn.bias
    folded.weight = nn.Parameter(weight.to(conv.weight.dtype))
    folded.bias = nn.Parameter(bias.to(conv.weight.dtype))
    return folded


# 8.6 ResNet and ResNeXt
class ShortcutBlock(nn.Module):
    """relu(branch(X) + shortcut(X)) for X of shape (n, c, h, w).

    Without a `shortcut` X itself is added. A ValueError names the shapes
    where the two terms differ.
    """

    def __init__(self, branch, shortcut=None):
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, X):
        Y, S = self.branch(X), self.shortcut(X)
        if Y.shape != S.shape:
            raise ValueError(
                f"the branch gives {tuple(Y.shape)}, the shortcut "
                f"{tuple(S.shape)}; a block that changes the shape needs "
                "use_1x1conv=True.")
        return nn.functional.relu(Y + S)


# 8.6 ResNet and ResNeXt
def conv_norm(num_channels, kernel_size, strides=1, bias=True, groups=1):
    """A convolution that keeps h and w / strides, and its batch norm."""
    return [nn.LazyConv2d(num_channels, kernel_size, stride=strides,
                          padding=kernel_size // 2, groups=groups,
                          bias=bias), nn.LazyBatchNorm2d()]


def projection(num_channels, strides, bias, norm):
    """A 1x1 convolution, with `norm` followed by batch normalization."""
    layers = conv_norm(num_channels, 1, strides, bias)
    return nn.Sequential(*layers[:2 if norm else 1])


class Residual(ShortcutBlock):
    """A residual block with two 3x3 convolutions in its branch.

    The shortcut is the identity, or with `use_1x1conv` a convolution that
    adapts channels and, by `strides`, resolution. `bias` gives the
    convolutions biases, `norm_shortcut` normalizes the 1x1 convolution.
    (n, c, h, w) -> (n, num_channels, h / strides, w / strides), rounded up.
    """

    def __init__(self, num_channels, use_1x1conv=False, strides=1,
                 bias=True, norm_shortcut=False):
        super().__init__(
            nn.Sequential(
                *conv_norm(num_channels, 3, strides, bias), nn.ReLU(),
                *conv_norm(num_channels, 3, 1, bias)),
            projection(num_channels, strides, bias, norm_shortcut)
            if use_1x1conv else None)


# 8.6 ResNet and ResNeXt
class ResNet(Classifier):
    """A residual network; returns scores (n, num_classes).

    `arch` lists (number of blocks, channels) for each stage; `width`
    multiplies the channels; `block` is called as
    block(channels, use_1x1conv, strides, bias, norm_shortcut).
    `reference=True` builds it as current libraries do: convolutions
    without biases, shortcuts with batch normalization.
    """

    def __init__(self, arch, lr=0.01, num_classes=10, width=1.0,
                 reference=False, block=Residual):
        super().__init__()
        self.save_hyperparameters()
        stem = scaled(64, width)
        layers, channels = [self.b1(stem)], stem
        for i, (depth, c) in enumerate(arch):
            c = scaled(c, width)
            layers.append(self.stage(depth, channels, c, 1 + (i > 0)))
            channels = c
        self.net = nn.Sequential(*layers, nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.LazyLinear(num_classes)))

    def b1(self, channels):
        """The stem: a quarter of the height and width."""
        return nn.Sequential(
            *conv_norm(channels, 7, 2, bias=not self.reference), nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1))

    def stage(self, depth, c_in, c_out, strides):
        """Blocks of equal width; the first one may change the shape."""
        return nn.Sequential(*(
            self.block(c_out, i == 0 and (strides > 1 or c_in != c_out),
                       strides if i == 0 else 1, not self.reference,
                       self.reference) for i in range(depth)))


# 8.6 ResNet and ResNeXt
class ResNet18(ResNet):
    """ResNet-18: two residual blocks in each of four stages."""

    def __init__(self, lr=0.01, num_classes=10, width=1.0,
                 reference=False):
        super().__init__(((2, 64), (2, 128), (2, 256), (2, 512)), lr,
                         num_classes, width, reference)


# 8.6 ResNet and ResNeXt
class Bottleneck(ShortcutBlock):
    """A residual block of 1x1, 3x3 and 1x1 convolutions.

    `num_channels` enter the next block; the 3x3 convolution, which has the
    stride, works on `inner` times as many in `groups` groups. The other
    arguments are those of `Residual`.
    """

    def __init__(self, num_channels, use_1x1conv=False, strides=1,
                 bias=False, norm_shortcut=True, inner=0.25, groups=1):
        c = scaled(num_channels, inner)
        super().__init__(
            nn.Sequential(
                *conv_norm(c, 1, 1, bias), nn.ReLU(),
                *conv_norm(c, 3, strides, bias, groups), nn.ReLU(),
                *conv_norm(num_channels, 1, 1, bias)),
            projection(num_channels, strides, bias, norm_shortcut)
            if use_1x1conv else None)


# 8.6 ResNet and ResNeXt
def port_state(src, dst):
    """Copy all parameters and buffers of `src` to `dst`, in order.

    The two modules may name their tensors differently, but must have
    equally many, of the same shapes; a ValueError names the first pair
    that does not fit, and `dst` is then left as it was. That tensors of
    one shape have the same meaning is not checked. Returns `dst`.
    """
    source, target = src.state_dict(), dst.state_dict()
    if len(source) != len(target):
        raise ValueError(f"{len(source)} tensors cannot be copied to "
                         f"{len(target)}.")
    for (a, A), (b, B) in zip(source.items(), target.items()):
        if A.shape != B.shape:
            raise ValueError(f"{a} has shape {tuple(A.shape)}, but {b} has "
                             f"{tuple(B.shape)}.")
    with torch.no_grad():
        for A, B in zip(source.values(), target.values()):
            B.copy_(A)
    return dst


# 8.6 ResNet and ResNeXt
class ResNeXtBlock(Bottleneck):
    """A residual block whose 3x3 convolution works in groups.

    `bot_mul` times `num_channels` channels inside, in groups of
    `group_width` channels each. Convolutions have biases, the 1x1
    convolution on the shortcut is normalized.
    """

    def __init__(self, num_channels, group_width, bot_mul,
                 use_1x1conv=False, strides=1):
        c = scaled(num_channels, bot_mul)
        if c % group_width:
            raise ValueError(f"{c} inner channels cannot be divided into "
                             f"groups of {group_width}.")
        super().__init__(num_channels, use_1x1conv, strides, bias=True,
                         inner=bot_mul, groups=c // group_width)


# 8.7 DenseNet
def conv_block(num_channels):
    """Batch normalization, ReLU, 3x3 convolution to `num_channels`."""
    return nn.Sequential(
        nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(num_channels, kernel_size=3, padding=1))


# 8.7 DenseNet
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


# 8.7 DenseNet
def transition_block(num_channels, bias=True):
    """To `num_channels` by a 1x1 convolution; halved by averaging."""
    return nn.Sequential(
        nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(num_channels, kernel_size=1, bias=bias),
        nn.AvgPool2d(kernel_size=2, stride=2))


# 8.7 DenseNet
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


# 8.7 DenseNet
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


# 8.7 DenseNet
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


# 8.8 Designing convolutional networks: AnyNet and RegNet
class AnyNet(Classifier):
    """Stem, stages, head; returns scores (n, num_classes).

    `arch` lists (depth, channels, group_width, bot_mul) for each stage,
    which halves height and width. `block` is called as
    block(channels, group_width, bot_mul, use_1x1conv, strides).
    """

    def __init__(self, arch, stem_channels, lr=0.05, num_classes=10,
                 block=ResNeXtBlock):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            self.stem(stem_channels),
            *(self.stage(*stage) for stage in arch),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.LazyLinear(num_classes)))

    def stem(self, channels):
        return nn.Sequential(
            nn.LazyConv2d(channels, kernel_size=3, stride=2, padding=1),
            nn.LazyBatchNorm2d(), nn.ReLU())

    def stage(self, depth, channels, group_width, bot_mul):
        return nn.Sequential(*(
            self.block(channels, group_width, bot_mul, i == 0,
                       2 if i == 0 else 1) for i in range(depth)))


# 8.8 Designing convolutional networks: AnyNet and RegNet
class RegNetX32(AnyNet):
    """RegNetX with 32 layers: two stages of 4 and 6 blocks."""

    def __init__(self, lr=0.05, num_classes=10):
        super().__init__(((4, 32, 16, 1), (6, 80, 16, 1)), 32, lr,
                         num_classes)


# 8.8 Designing convolutional networks: AnyNet and RegNet
def ecdf(errors):
    """The empirical distribution function of the values `errors` (n,).

    Returns F with F(e) = share of values that are at most e; e is a number
    or a tensor (...), F(e) a float64 tensor of the same shape.
    """
    values = torch.as_tensor(errors, dtype=torch.float64).sort().values
    if values.ndim != 1 or len(values) == 0:
        raise ValueError("ecdf needs at least one value, got a tensor of "
                         f"shape {tuple(values.shape)}.")

    def F(e):
        e = torch.as_tensor(e, dtype=torch.float64, device=values.device)
        below = torch.searchsorted(values, e, right=True)
        return below.double() / len(values)

    return F


# 8.8 Designing convolutional networks: AnyNet and RegNet
def regnet_widths(depth, w0, wa, wm, group_width, q=8):
    """Widths and depths of the stages of a RegNet with `depth` blocks.

    Block j gets w0 + wa j channels, rounded to w0 times a power of wm and
    then to a multiple of q. Blocks of equal width form a stage. Its width
    is rounded to a multiple of `group_width`, unless it is smaller than
    that. Ties go to the even multiple. Returns two lists.
    """
    if depth < 1 or w0 <= 0 or wa < 0 or wm <= 1:
        raise ValueError("regnet_widths needs depth >= 1, w0 > 0, wa >= 0 "
                         f"and wm > 1, got {depth}, {w0}, {wa} and {wm}.")
    u = w0 + wa * torch.arange(depth, dtype=torch.float64)  # (depth,)
    powers = torch.round(torch.log(u / w0) / math.log(wm))
    w = torch.round(w0 * wm**powers / q) * q
    widths, depths = w.long().unique_consecutive(return_counts=True)
    groups = [min(group_width, c) for c in widths.tolist()]
    widths = [round(c / g) * g for c, g in zip(widths.tolist(), groups)]
    return widths, depths.tolist()


# 8.8 Designing convolutional networks: AnyNet and RegNet
class SqueezeExcite(nn.Module):
    """Weighs the channels of X (n, c, h, w) by what all positions say.

    The c channel means go through a dense layer of c // r units with ReLU
    and one of c units with sigmoid, whose outputs multiply the channels.
    """

    def __init__(self, c, r):
        super().__init__()
        inner = max(1, c // r)
        self.weights = nn.Sequential(
            nn.Linear(c, inner), nn.ReLU(), nn.Linear(inner, c),
            nn.Sigmoid())

    def forward(self, X):
        s = self.weights(X.mean(dim=(2, 3)))  # (n, c)
        return X * s[:, :, None, None]


# 8.8 Designing convolutional networks: AnyNet and RegNet
class ConvNeXtBlock(nn.Module):
    """A ConvNeXt block; `AnyNet` accepts it as `block`.

    (n, num_channels, h, w) keeps its shape; with `use_1x1conv` a 3x3
    convolution first adapts channels and, by `strides`, resolution. Groups
    of `group_width` channels, `bot_mul` times the channels inside;
    `layer_scale` is the first value of a factor for each channel.
    """

    def __init__(self, num_channels, group_width=1, bot_mul=4,
                 use_1x1conv=False, strides=1, layer_scale=None):
        super().__init__()
        inner = scaled(num_channels, bot_mul)
        self.adapt = nn.LazyConv2d(
            num_channels, kernel_size=3, padding=1,
            stride=strides) if use_1x1conv else nn.Identity()
        self.conv = nn.Conv2d(num_channels, num_channels, kernel_size=7,
                              padding=3, groups=num_channels // group_width)
        self.norm = nn.LayerNorm(num_channels)
        self.expand = nn.Linear(num_channels, inner)
        self.reduce = nn.Linear(inner, num_channels)
        self.scale = None if layer_scale is None else nn.Parameter(
            torch.full((num_channels,), float(layer_scale)))

    def forward(self, X):
        X = self.adapt(X)
        Y = self.norm(self.conv(X).permute(0, 2, 3, 1))  # channels last
        Y = self.reduce(nn.functional.gelu(self.expand(Y)))
        Y = Y if self.scale is None else self.scale * Y
        return X + Y.permute(0, 3, 1, 2)
