"""What both libraries are asked to do, written once: their names are the same.

`library` is tensorlite or torch, `functional` its nn.functional. This file imports neither, so that
the process of one is not charged with the other. Every function returns what is to be timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Work = Callable[[], Any]


def random(library: Any, shape: tuple[int, ...], seed: int = 0) -> Any:
    return library.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def both_passes(function: Callable[..., Any], inputs: list[Any], g: Any) -> Work:
    """function(*inputs), then backward from g, and the gradients let go of."""
    for tensor in inputs:
        tensor.requires_grad_()

    def run() -> None:
        function(*inputs).backward(g)
        for tensor in inputs:
            tensor.grad = None

    return run


def linear_gelu(library: Any, functional: Any, rows: int, inputs: int, outputs: int) -> Work:
    def function(x: Any, weight: Any, bias: Any) -> Any:
        return functional.gelu(functional.linear(x, weight, bias), approximate="tanh")

    x, g, bias = (random(library, shape) for shape in ((rows, inputs), (rows, outputs), (outputs,)))
    weight = random(library, (outputs, inputs)) * inputs**-0.5  # GELU then sees what it sees in use
    return both_passes(function, [x, weight, bias], g)


def softmax(library: Any, functional: Any, rows: int, width: int) -> Work:
    x, g = (random(library, (rows, width)) for _ in range(2))
    return both_passes(lambda x: functional.softmax(x, -1), [x], g)


def layer_norm(library: Any, functional: Any, rows: int, width: int) -> Work:
    x, g = (random(library, (rows, width)) for _ in range(2))
    weight, bias = (random(library, (width,)) for _ in range(2))
    return both_passes(
        lambda x, weight, bias: functional.layer_norm(x, (width,), weight, bias),
        [x, weight, bias],
        g,
    )


def rms_norm(library: Any, functional: Any, rows: int, width: int) -> Work:
    x, g = (random(library, (rows, width)) for _ in range(2))
    weight = random(library, (width,))
    return both_passes(lambda x, weight: functional.rms_norm(x, (width,), weight), [x, weight], g)


def gelu(library: Any, functional: Any, rows: int, width: int) -> Work:
    x, g = (random(library, (rows, width)) for _ in range(2))
    return both_passes(lambda x: functional.gelu(x, approximate="tanh"), [x], g)


def cross_entropy(library: Any, functional: Any, rows: int, width: int) -> Work:
    targets = library.from_numpy(np.random.default_rng(1).integers(width, size=rows))
    x = random(library, (rows, width))
    return both_passes(lambda x: functional.cross_entropy(x, targets), [x], None)


def adamw(library: Any, optim: Any, size: int) -> Work:
    weight = random(library, (size,)).requires_grad_()
    weight.grad = random(library, (size,))
    return optim.AdamW([weight], lr=1e-3, weight_decay=0.1, fused=True).step  # type: ignore[no-any-return]


def attention(
    library: Any, functional: Any, batch: int, heads: int, length: int, width: int
) -> Work:
    """Causal, and q, k and v as a GPT has them: views of one array."""
    g = random(library, (batch, heads, length, width))

    def function(qkv: Any) -> Any:
        q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))  # (B, H, T, D)
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    return both_passes(function, [random(library, (batch, length, 3, heads, width))], g)


def additions(library: Any, count: int) -> Work:
    x, y = (library.from_numpy(np.ones((8, 8), np.float32)).requires_grad_() for _ in range(2))

    def run() -> None:
        for _ in range(count):
            x + y

    return run


def product_and_sum(library: Any) -> Work:
    pair = [library.from_numpy(np.ones((8, 8), np.float32)) for _ in range(2)]
    return both_passes(lambda x, y: (x @ y).sum(), pair, None)
