"""Kernels' slow, obvious twins: the formula in NumPy, in the type of the arrays they are given."""

import math

import numpy as np

# --------------------------------------------------------------------------------------- optimizer


def adamw(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled=True):
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    root = np.sqrt(v / (1 - beta2**step))
    return p - lr * (m / (1 - beta1**step)) / (root + eps), m, v


def sgd(p, g, b, lr, momentum, dampening, weight_decay, nesterov):
    g = g + weight_decay * p
    b = momentum * b + (1 - dampening) * g
    return p - lr * (g + momentum * b if nesterov else b), b


# ------------------------------------------------------------------------------------- activations


def erf(x):
    return np.array([math.erf(v) for v in np.ravel(x)]).reshape(np.shape(x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_slope(x):
    return sigmoid(x) * sigmoid(-x)


def silu(x):
    return x * sigmoid(x)


def silu_slope(x):
    return sigmoid(x) * (1 + x * sigmoid(-x))


def _phi(x):
    """The normal distribution function."""
    return np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in np.ravel(x)]).reshape(np.shape(x))


def gelu(x):
    return x * _phi(x)


def gelu_slope(x):
    return _phi(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def gelu_tanh(x):
    return x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


def gelu_tanh_slope(x):
    c = 2 * np.sqrt(2 / np.pi)
    u = c * (x + 0.044715 * x**3)
    return sigmoid(u) + x * sigmoid_slope(u) * c * (1 + 3 * 0.044715 * x * x)


def relu(x):
    return np.where(x > 0, x, 0 * x)


def relu_slope(x):
    return (x > 0) * 1.0


def relu_squared(x):
    return relu(x) ** 2


def relu_squared_slope(x):
    return 2 * relu(x)


tanh = np.tanh


def tanh_slope(x):
    return 1 / np.cosh(x) ** 2


# ----------------------------------------------------------------------------------------- softmax


def softmax(x):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_softmax(x):
    with np.errstate(invalid="ignore", divide="ignore"):
        z = x - x.max(1, keepdims=True)
        return z - np.log(np.exp(z).sum(1, keepdims=True))


def logsumexp(x):
    top = x.max(1, keepdims=True)
    top = np.where(np.isinf(top), 0, top)
    with np.errstate(divide="ignore"):
        return top + np.log(np.exp(x - top).sum(1, keepdims=True))


def softmax_backward(g, y):
    return y * (g - (g * y).sum(1, keepdims=True))


def log_softmax_backward(g, y):
    return g - np.exp(y) * g.sum(1, keepdims=True)


# --------------------------------------------------------------------------------------- attention


def attention(q, k, v, scale, offset):
    """The output, lse, and the weights (B, H, T, S); a query that sees no key gets zeros."""
    heads = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, heads, 1), np.repeat(v, heads, 1)
    scores = q @ k.mT * scale
    seen = np.arange(k.shape[2]) <= np.arange(q.shape[2])[:, None] + offset
    scores = np.where(seen, scores, -np.inf)
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(top == -np.inf, 0, top))
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    with np.errstate(divide="ignore"):
        return p @ v, (top + np.log(total))[..., 0], p


def attention_backward(g, q, k, v, scale, offset):
    """The gradients of q, k and v."""
    groups, heads = k.shape[1], q.shape[1] // k.shape[1]
    out, _, p = attention(q, k, v, scale, offset)
    every_k, every_v = np.repeat(k, heads, 1), np.repeat(v, heads, 1)
    gs = p * (g @ every_v.mT - (g * out).sum(-1, keepdims=True))

    def shared(x):  # heads that share keys add up
        return x.reshape(len(x), groups, heads, *x.shape[2:]).sum(2)

    return gs @ every_k * scale, shared(gs.mT @ q) * scale, shared(p.mT @ g)


def panels(weight, width):
    """Rows of a weight (N, K), `width` of them turned in each panel, zeros after the last."""
    n, k = weight.shape
    result = np.zeros((-(-n // width), k, width), weight.dtype)
    for i in range(n):
        result[i // width, :, i % width] = weight[i]
    return result


def unpacked(panels):
    """All rows in panels (P, K, w), those that pad the last one too."""
    p, _, w = panels.shape
    return np.stack([panels[i // w, :, i % w] for i in range(p * w)])
