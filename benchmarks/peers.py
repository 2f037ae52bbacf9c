"""The other sides: NumPy, and PyTorch where it is installed, on the same number of threads."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

import tensorlite

OURS = "tensorlite"
HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_THREADPOOLCTL = importlib.util.find_spec("threadpoolctl") is not None


def torch() -> Any:
    """The module torch; importing it takes two seconds, so only what needs it does."""
    import torch

    return torch


def sides() -> list[str]:
    """The names of the libraries that can be had, ours first."""
    return [OURS, "torch"] if HAS_TORCH else [OURS]


def libraries() -> dict[str, Any]:
    """tensorlite, and torch if it is installed."""
    return {OURS: tensorlite} | ({"torch": torch()} if HAS_TORCH else {})


def both_sides(
    work: Callable[..., Callable[[], Any]], *arguments: Any, module: str = "functional"
) -> dict[str, Callable[[], Any]]:
    """One of the workloads in each library."""
    sides = {}
    for name, library in libraries().items():
        part = library.optim if module == "optim" else library.nn.functional
        sides[name] = work(library, part, *arguments)
    return sides


def torch_gpt() -> Any:
    """Our GPT in PyTorch; the file cannot be imported without it."""
    return importlib.import_module("benchmarks.torch_gpt")


def weights(model: Any) -> dict[str, np.ndarray]:
    """A model's parameters by name, for the other side."""
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


@contextmanager
def threads(n: int) -> Iterator[None]:
    """All sides on n threads."""
    before = tensorlite.get_num_threads()
    with ExitStack() as stack:
        tensorlite.set_num_threads(n)
        stack.callback(tensorlite.set_num_threads, before)
        if HAS_TORCH:
            stack.callback(torch().set_num_threads, torch().get_num_threads())
            torch().set_num_threads(n)
        if HAS_THREADPOOLCTL:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(n, user_api="blas"))
        yield


def caveats() -> list[str]:
    """What a reader of the figures must know about the other sides."""
    found = []
    if not HAS_TORCH:
        found.append(
            "PyTorch is not installed: compared with NumPy only (pip install -e '.[bench]')"
        )
    if not HAS_THREADPOOLCTL:
        found.append(
            "threadpoolctl is not installed: NumPy uses all cores whatever --threads says "
            "(pip install threadpoolctl)"
        )
    if os.environ.get("OPENBLAS_CORETYPE"):
        found.append(
            f"NumPy is held to the kernels of {os.environ['OPENBLAS_CORETYPE']} by "
            "OPENBLAS_CORETYPE; unset it, or NumPy may be slower than this processor allows"
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        found.append(f"the machine is not quiet: load {load:.1f}; trust the paired ratios only")
    return found


def most_threads() -> int:
    """The cores that this process may use, or what the environment allows."""
    return tensorlite.get_num_threads()
