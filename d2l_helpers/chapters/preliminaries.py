"""Chapter 2, Preliminaries: what its sections teach and later ones use.

Generated from book/02-preliminaries/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import math
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


# 2.5 Automatic differentiation
class Value:
    """A number that remembers how it was computed.

    After `y.backward()` every value that led to y has the derivative of
    y with respect to it in `grad`; repeated calls add up.
    """

    def __init__(self, data, inputs=(), slopes=(), op=""):
        self.data, self.grad, self.op = float(data), 0.0, op
        self.inputs, self.slopes = inputs, slopes  # slopes: d self/d input

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0), "+")

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other),
                     (other.data, self.data), "*")

    def __pow__(self, n):
        return Value(self.data**n, (self,),
                     (n * self.data ** (n - 1),), f"**{n}")

    def exp(self):
        e = math.exp(self.data)
        return Value(e, (self,), (e,), "exp")

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,), "log")

    def tanh(self):
        t = math.tanh(self.data)
        return Value(t, (self,), (1 - t * t,), "tanh")

    def relu(self):
        return Value(max(self.data, 0.0), (self,),
                     (float(self.data > 0),), "relu")

    __radd__, __rmul__ = __add__, __mul__


# 2.5 Automatic differentiation
def topological_order(result):
    """Every value that leads to `result`, each one after its inputs."""
    order, seen = [], set()

    def visit(node):
        if id(node) not in seen:
            seen.add(id(node))
            for before in node.inputs:
                visit(before)
            order.append(node)

    visit(result)
    return order


def backpropagate(self):
    """Add the derivative of this value to `grad` of all behind it."""
    upstream = {id(self): 1.0}
    for node in reversed(topological_order(self)):
        g = upstream[id(node)]
        node.grad += g
        for before, slope in zip(node.inputs, node.slopes):
            upstream[id(before)] = upstream.get(id(before), 0.0) + g * slope


Value.backward = backpropagate
