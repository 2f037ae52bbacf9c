"""What an op costs besides its arithmetic: on 8 x 8 numbers there is none to speak of."""

from __future__ import annotations

from benchmarks import peers, workloads
from benchmarks.harness import Bench

REPEATS = 100
GOAL = 1.5


def run(bench: Bench) -> None:
    """8 x 8 additions with a graph and without, and a product with its gradient."""
    libraries = peers.libraries()
    adds = {name: workloads.additions(library, REPEATS) for name, library in libraries.items()}
    alone = {name: library.no_grad()(adds[name]) for name, library in libraries.items()}
    products = {name: workloads.product_and_sum(library) for name, library in libraries.items()}
    with bench.on(1):
        for case, sides, repeats in (
            ("add, recorded", adds, REPEATS),
            ("add, no_grad", alone, REPEATS),
            ("(x @ y).sum().backward()", products, 1),
        ):
            bench.compare("overhead", case, sides, repeats=repeats, goal={"torch": GOAL})
