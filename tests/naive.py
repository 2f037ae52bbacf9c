"""Kernels' slow, obvious twins: the formula in NumPy, in the type of the arrays they are given."""

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
