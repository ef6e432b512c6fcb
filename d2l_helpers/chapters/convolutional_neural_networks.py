"""Chapter 7, Convolutional neural networks: what its sections teach and later ones use.

Generated from book/07-convolutional-neural-networks/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import torch
from d2l_helpers.chapters.linear_classification import Classifier
from torch import nn


# 7.2 Convolutions for images
def corr2d(X, K):
    """Cross-correlation of X (h, w) with a kernel K (kh, kw).

    Returns (h - kh + 1, w - kw + 1), on the device of X and with the dtype
    of X * K. A `ValueError` names shapes that do not fit.

    Example: corr2d(torch.ones(3, 3), torch.ones(2, 2)) is 4 everywhere.
    """
    if X.ndim != 2 or K.ndim != 2:
        raise ValueError(f"corr2d got shapes {tuple(X.shape)} and "
                         f"{tuple(K.shape)}; both must be matrices.")
    kh, kw = K.shape
    if not (1 <= kh <= X.shape[0] and 1 <= kw <= X.shape[1]):
        raise ValueError(f"a kernel of {kh} x {kw} does not fit into an "
                         f"input of {X.shape[0]} x {X.shape[1]}.")
    Y = X.new_zeros(X.shape[0] - kh + 1, X.shape[1] - kw + 1,
                    dtype=torch.result_type(X, K))
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i:i + kh, j:j + kw] * K).sum()
    return Y


# 7.2 Convolutions for images
def receptive_field(layers):
    """Receptive field of one output of a stack of layers.

    `layers` lists (kernel, stride, padding) from input to output; returns
    (size, jump, start): the number of inputs seen, the distance between
    the fields of neighbouring outputs, and the index of the first input
    that output 0 sees (negative where it begins in the padding).

    Example: two 3x3 layers, receptive_field([(3, 1, 0)] * 2), see 5 inputs.
    """
    size, jump, start = 1, 1, 0
    for layer in layers:
        k, s, p = layer
        if k < 1 or s < 1 or p < 0:
            raise ValueError(f"layer {layer} is not (kernel >= 1, "
                             "stride >= 1, padding >= 0).")
        size += (k - 1) * jump
        start -= p * jump
        jump *= s
    return size, jump, start


# 7.3 Padding and stride
def conv_out(n, k, padding=0, stride=1, dilation=1):
    """Output size of a convolution along one axis.

    `n` is the input size, `k` the kernel size, `padding` the number of
    cells added on each side, `stride` the step of the window and
    `dilation` the distance of its cells. All are integers; for height
    and width call it twice. Pooling with a window of `k` obeys it too.
    Raises ValueError if a value is impossible or the window does not fit.

    conv_out(32, 3, padding=1) is 32, conv_out(224, 11, 2, 4) is 55.
    """
    lowest = {"n": 1, "k": 1, "padding": 0, "stride": 1, "dilation": 1}
    for (name, low), value in zip(lowest.items(),
                                  (n, k, padding, stride, dilation)):
        if not isinstance(value, int) or value < low:
            raise ValueError(f"{name} is {value!r}, but must be an integer "
                             f"of at least {low}; give one axis at a time.")
    extent = dilation * (k - 1) + 1
    if extent > n + 2 * padding:
        raise ValueError(
            f"the window spans {extent} cells, but the input has only "
            f"{n + 2 * padding} with its padding; pad more, or take a "
            f"smaller kernel or dilation.")
    return (n + 2 * padding - extent) // stride + 1


# 7.4 Multiple input and multiple output channels
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


# 7.4 Multiple input and multiple output channels
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


# 7.6 LeNet
def init_cnn(module):
    """Xavier's uniform weights for dense and convolutional layers.

    Biases keep their default; other modules stay as they are. Pass it to
    `apply_init` or `nn.Module.apply`.
    """
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_uniform_(module.weight)


def init_he(module):
    """He's normal weights and zero biases, for layers before a ReLU."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# 7.6 LeNet
class LeNet(Classifier):
    """LeNet-5 in its usual form; returns scores (n, num_classes).

    The input is (n, channels, h, w) with h and w of at least 12;
    `activation` is called without arguments, `pool` as `pool(2)`, a
    window of 2 with stride 2.
    """

    def __init__(self, lr=0.1, num_classes=10, activation=nn.Sigmoid,
                 pool=nn.AvgPool2d):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.LazyConv2d(6, kernel_size=5, padding=2), activation(),
            pool(2),
            nn.LazyConv2d(16, kernel_size=5), activation(),
            pool(2),
            nn.Flatten(),
            nn.LazyLinear(120), activation(),
            nn.LazyLinear(84), activation(),
            nn.LazyLinear(num_classes))


# 7.6 LeNet
def layer_summary(net, X_shape):
    """Name and output shape of each layer of an nn.Sequential, in order.

    `X_shape` is the shape of a batch, such as (1, 1, 28, 28). Returns
    [(class name, shape), ...] and leaves `net` as it found it, except
    that lazy layers get their shapes.
    """
    parameter = next(net.parameters(), torch.empty(0))
    X = torch.zeros(X_shape, dtype=parameter.dtype, device=parameter.device)
    modes = {module: module.training for module in net.modules()}
    rows = []
    with torch.no_grad():
        for layer in net.eval():
            X = layer(X)
            rows.append((type(layer).__name__, tuple(X.shape)))
    for module, training in modes.items():
        module.training = training
    return rows
