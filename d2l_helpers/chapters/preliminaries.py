"""Chapter 2, Preliminaries: what its sections teach and later ones use.

Generated from book/02-preliminaries/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import torch


# 2.4 Calculus
def numerical_derivative(f, x, h=1e-5, scheme="central"):
    """Difference quotient of `f` at `x`, a number or a tensor.

    `f` maps a number to a number; on a tensor it must act elementwise.
    The scheme is "central" or "forward". The default step suits float64;
    in float32 take `h` near 1e-2.
    """
    if scheme == "central":
        return (f(x + h) - f(x - h)) / (2 * h)
    if scheme == "forward":
        return (f(x + h) - f(x)) / h
    raise ValueError(f"scheme is {scheme!r}; use 'central' or 'forward'.")


# 2.4 Calculus
def numerical_gradient(f, x, h=1e-5, scheme="central"):
    """Gradient of `f` at the tensor `x`, one partial derivative at a time.

    `f` maps a tensor of the shape of `x`, any shape, to a number or to a
    tensor with one element. Returns a tensor of the shape and dtype of
    `x`, which stays unchanged. Costs two calls of `f` for each element.
    """
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}; a step h needs floats.")
    x = x.detach()
    gradient = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
    for i in range(x.numel()):
        unit = torch.zeros_like(gradient)
        unit[i] = 1

        def along_axis(t):  # x moves by t along axis i only
            return torch.as_tensor(f(x + t * unit.reshape(x.shape))).item()

        gradient[i] = numerical_derivative(along_axis, 0.0, h, scheme)
    return gradient.reshape(x.shape)
