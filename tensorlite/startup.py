"""How kernels get compiled before anyone waits for them.

A kernel is compiled when it is first called, for each dtype, and kept on disk for the next process.
Whoever minds these seconds, as an image being built or a measurement, calls `warmup` before.

The very first process of all has half a minute of it on an older core, and Numba compiles one
function at a time. So when it is about to compile what a training step needs first, it starts a
process beside it, which works ahead on what comes later (the first step of 4 layers on two cores of
a Zen 3: 27 -> 18 s). Both write to the disk, and whoever needs a kernel reads it there. The process
ends when it is done, or its parent is gone; where it cannot start, nothing is lost but time.
TENSORLITE_AHEAD=0 forbids it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tensorlite import nn, optim
from tensorlite.autograd import no_grad
from tensorlite.creation import arange, ones, zeros
from tensorlite.dtypes import dtype, float32
from tensorlite.kernels import cache
from tensorlite.kernels.activation import gelu_tanh_backward
from tensorlite.kernels.cross_entropy import cross_entropy_in_place
from tensorlite.kernels.elementwise import sum_by_kernel
from tensorlite.kernels.jit import cores
from tensorlite.kernels.norm import layer_norm_backward
from tensorlite.nn import functional as F
from tensorlite.ops.index import where
from tensorlite.tensor import Tensor

# What is compiled does not depend on sizes, but several rows and one take different kernels.
VOCABULARY, WIDTH, HEADS, ROWS = 64, 32, 2, 16


def warmup(*dtypes: dtype) -> None:
    """Compile, or load from the disk, the kernels of training a GPT and of writing with it.

    dtypes: of the weights; float32 if none is given
    """
    for kind in dtypes or (float32,):
        for llama, bias in ((False, True), (False, False), (True, False)):
            model = _Layer(llama, bias).to(kind)
            optimizer = optim.AdamW(model.parameters(), lr=1e-3)
            ids = arange(ROWS)
            x = model(ids)
            F.linear_cross_entropy(x, model.tokens.weight, ids).backward()
            F.cross_entropy(F.linear(model(ids), model.tokens.weight), ids).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with no_grad():
                large = zeros(1 << 18, dtype=kind)  # what is small NumPy computes
                where(large > 0, (large + large).exp(), 0.0)
                F.dropout(large, 0.5)
                keys = zeros(1, HEADS, ROWS, WIDTH // HEADS, dtype=kind)  # of a cache
                keys.index_copy_(2, ids, keys.clone())
                panels = F.pack_weight(model.tokens.weight)
                for rows in (ROWS, 1):
                    x = model(ids[:rows])
                    F.linear(x, model.tokens.weight)
                    F.packed_linear(x, panels, None, features=VOCABULARY)


class _Layer(nn.Module):
    """The parts of a GPT-2 block, or of a Llama block, in a row."""

    def __init__(self, llama: bool, bias: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.norm = nn.RMSNorm(WIDTH) if llama else nn.LayerNorm(WIDTH, bias=bias)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=bias)
        self.gate = nn.Linear(WIDTH, WIDTH, bias=False) if llama else None
        self.up = nn.Linear(WIDTH, WIDTH, bias=bias)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (T) -> (T, C)"""
        x = self.norm(self.tokens(ids))
        heads = self.qkv(x).view(1, -1, 3, HEADS, WIDTH // HEADS)  # (1, T, 3, H, D)
        q, k, v = (heads[:, :, i].transpose(1, 2) for i in range(3))  # (1, H, T, D)
        x = x + F.causal_attention(q, k, v).transpose(1, 2).reshape(-1, WIDTH)
        up = self.up(x)
        return F.gelu(up, approximate="tanh") if self.gate is None else F.swiglu(self.gate(x), up)


# --------------------------------------------------------------------------------- working ahead

FIRST = ("norm._norm", "gemm.gemm")  # who needs these will soon need the rest
AHEAD = "TENSORLITE_AHEAD"


def compile_ahead(parent: int) -> None:
    """What a training step compiles beside its products, what it waits for first to begin with.

    parent: the process that it is done for; without it, there is no hurry any more
    """

    def attention() -> None:
        q, k, v = (zeros(1, HEADS, ROWS, WIDTH // HEADS, requires_grad=True) for _ in range(3))
        F.causal_attention(q, k, v).sum().backward()

    def optimizer() -> None:
        weight = nn.Parameter(zeros(ROWS, WIDTH))
        weight.grad = ones(ROWS, WIDTH)  # to be clipped
        nn.utils.clip_grad_norm_([weight], 1.0)
        optim.AdamW([weight], lr=1e-3).step()

    def norm() -> None:
        x, weight, row = (zeros(*shape).numpy() for shape in ((ROWS, WIDTH), (WIDTH,), (ROWS,)))
        layer_norm_backward(x, x, weight, row, row)

    def loss() -> None:
        logits, targets = zeros(ROWS * VOCABULARY).numpy(), arange(ROWS).numpy()
        losses = zeros(ROWS).numpy()
        cross_entropy_in_place(logits, targets, -100, losses[:1], losses, losses, True)

    def elements() -> None:
        x = zeros(ROWS, WIDTH).numpy()
        sum_by_kernel(x, x)
        gelu_tanh_backward(x, x)

    def embedding() -> None:
        nn.Embedding(VOCABULARY, WIDTH)(arange(ROWS)).sum().backward()

    stages: tuple[Callable[[], None], ...] = (attention, norm, loss, elements, embedding, optimizer)
    for stage in stages:
        if os.getppid() != parent:
            return
        stage()


def _at_miss(name: str) -> None:
    if name in FIRST:
        _start_beside()


@functools.cache
def _start_beside() -> None:
    """Start the process that works ahead, once."""
    interpreter = Path(sys.executable or "")
    if os.environ.get(AHEAD) == "0" or cores() < 2 or cache.CACHE_FOLDER is None:
        return
    if "python" not in interpreter.name:  # but a program that Python is a part of
        return
    root = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {root!r}); from tensorlite import startup; "
    command = [str(interpreter), "-P", "-c", code + f"startup.compile_ahead({os.getpid()})"]
    environment = {**os.environ, AHEAD: "0"}
    # Silent, and in a group of its own: Ctrl-C is not meant for it.
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    try:
        process = os.posix_spawn(
            interpreter, command, environment, file_actions=silent, setpgroup=0
        )
    except (AttributeError, NotImplementedError, OSError):  # not on this system, or not now
        return
    threading.Thread(target=_bury, args=(process,), daemon=True).start()


def _bury(process: int) -> None:
    """Take note of a child's end, or the system would keep it listed."""
    with contextlib.suppress(ChildProcessError):  # others did
        os.waitpid(process, 0)


cache.AT_MISS.append(_at_miss)
