"""Matrix products of the three training steps, bare and with bias and GELU behind them."""

from __future__ import annotations

import numpy as np

from benchmarks import peers, workloads
from benchmarks.harness import OURS, Bench, Result, mean_of
from benchmarks.shapes import STEPS, Linear, Step, linears
from tensorlite.kernels.matmul import product

GOAL, LIMIT = 1.0, 1.15  # geometric mean, and each


def steps(bench: Bench) -> list[Step]:
    return [STEPS["S"]] if bench.quick else list(STEPS.values())


def run(bench: Bench) -> None:
    """Forward and both gradients of every linear layer of S, M and L against NumPy and PyTorch."""
    random = np.random.default_rng(0)
    for threads in bench.on_threads():
        done = [
            result
            for step in steps(bench)
            for layer in linears(step)
            for result in _three_products(bench, layer, random)
        ]
        bench.add(mean_of("matmul", threads, done, goal={"numpy": GOAL}))


def _three_products(bench: Bench, layer: Linear, random: np.random.Generator) -> list[Result]:
    x = random.standard_normal((layer.rows, layer.inputs), np.float32)
    weight = random.standard_normal((layer.outputs, layer.inputs), np.float32)
    g = random.standard_normal((layer.rows, layer.outputs), np.float32)
    results = []
    for name, a, b in (("forward", x, weight.T), ("gx", g, weight), ("gw", g.T, x)):
        (m, k), n = a.shape, b.shape[1]
        sides = {
            OURS: lambda a=a, b=b: product(a, b),
            "numpy": lambda a=a, b=b: a @ b,
        }
        if peers.HAS_TORCH:
            # Transposed as the arrays are: torch sees the same memory.
            ta, tb = (peers.torch().from_numpy(m) for m in (a, b))
            sides["torch"] = lambda ta=ta, tb=tb: ta @ tb
        results.append(
            bench.compare(
                "matmul", f"{layer.name} {name} {m} x {k} x {n}", sides, flops=layer.flops,
                bytes=4.0 * (a.size + b.size + m * n), goal={"numpy": LIMIT},
            )
        )  # fmt: skip
    return results


def run_linear_gelu(bench: Bench) -> None:
    """Linear + bias + GELU, forward and backward, at the MLP of S, M and L, against PyTorch."""
    for _ in bench.on_threads():
        for step in steps(bench):
            layer = next(layer for layer in linears(step) if layer.name.endswith("up"))
            sizes = layer.rows, layer.inputs, layer.outputs
            sides = peers.both_sides(workloads.linear_gelu, *sizes)
            case = f"{layer.name} {layer.rows} x {layer.inputs} x {layer.outputs}"
            # x, the weight and what comes out, and the gradient of each, pass through memory once.
            rows, inputs, outputs = sizes
            elements = rows * inputs + inputs * outputs + rows * outputs
            bench.compare(
                "linear+gelu", case, sides, flops=3 * layer.flops, bytes=4.0 * 2 * elements,
                goal={"torch": 0.75},
            )  # fmt: skip
