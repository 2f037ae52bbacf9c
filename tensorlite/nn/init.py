"""Initial values, written in place: PyTorch's names, formulas and random numbers.

All return their tensor. fan_in is the number of inputs of one output (the product of all axes but
the first), fan_out that of the outputs of one input (of all axes but the second).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorlite.autograd import no_grad
from tensorlite.tensor import Tensor


@no_grad()
def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Any:
    """Uniform in [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Any:
    """Normal with this mean and standard deviation."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Any:
    """Normal, but within [a, b]: draws outside are drawn anew, the whole tensor at a time.

    Where less than .3 of the distribution lies within, uniform candidates are accepted in
    proportion to their density instead (von Neumann 1951).
    """

    def below(x: float) -> float:
        return (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2

    values = tensor.detach().numpy()
    if below(b) - below(a) > 0.3:
        low, high = values.dtype.type(a), values.dtype.type(b)
        result = tensor.normal_(mean, std, generator=generator).detach().numpy().copy()
        while (outside := (result < low) | (result > high)).any():
            again = tensor.normal_(mean, std, generator=generator).detach().numpy()
            result = np.where(outside, again, result)
    else:
        peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
        result, pending = values.copy(), np.ones(values.shape, np.bool_)
        while pending.any():
            drawn = tensor.uniform_(a, b, generator=generator).detach().numpy().copy()
            result = np.where(pending, drawn, result)
            density = -0.5 * ((drawn - mean) / std) ** 2 - peak
            level = tensor.uniform_(0, 1, generator=generator).detach().numpy()
            with np.errstate(divide="ignore"):
                pending &= np.log(level) > density
    return tensor.copy_(Tensor.new_tensor(tensor, result))


@no_grad()
def constant_(tensor: Any, val: float) -> Any:
    """val everywhere."""
    return tensor.fill_(val)


def zeros_(tensor: Any) -> Any:
    """0 everywhere."""
    return constant_(tensor, 0.0)


def ones_(tensor: Any) -> Any:
    """1 everywhere."""
    return constant_(tensor, 1.0)


@no_grad()
def eye_(tensor: Any) -> Any:
    """1 on the diagonal of a matrix, 0 elsewhere."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: needs a matrix, got shape {tuple(tensor.shape)}")
    return tensor.copy_(Tensor.new_tensor(tensor, np.eye(*tensor.shape)))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance of activations through a nonlinearity."""
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: must be one of {', '.join(gains)}, got '{nonlinearity}'")
    return gains[nonlinearity]


def _fans(name: str, tensor: Any) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(f"{name}: needs at least 2 axes, got shape {tuple(tensor.shape)}")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010."""
    bound = gain * math.sqrt(6 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Normal with deviation gain sqrt(2 / (fan_in + fan_out)). Glorot and Bengio 2010."""
    std = gain * math.sqrt(2 / sum(_fans("xavier_normal_", tensor)))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(name: str, tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), _fans(name, tensor), strict=True))
    if mode not in fans:
        raise ValueError(f"{name}: mode must be fan_in or fan_out, got '{mode}'")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans[mode])


def kaiming_uniform_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Any:
    """Uniform in +-gain sqrt(3 / fan). He et al. 2015."""
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Any:
    """Normal with deviation gain / sqrt(fan). He et al. 2015."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


@no_grad()
def orthogonal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Orthonormal rows or columns, whichever are fewer, times gain. Saxe et al. 2013."""
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: needs at least 2 axes, got shape {tuple(tensor.shape)}")
    normal_(tensor, generator=generator)
    matrix = tensor.detach().numpy().reshape(tensor.shape[0], -1)
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q = q * np.sign(np.diag(r))  # makes the draw uniform over all orthogonal matrices
    return tensor.copy_(
        Tensor.new_tensor(tensor, (q.T if wide else q).reshape(tensor.shape) * gain)
    )
