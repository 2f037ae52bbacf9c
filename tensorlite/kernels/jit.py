"""The one place that calls numba.njit: compiling, the disk cache, and the thread pool.

    @inline   a function that kernels call
    @allocating   the same for one that makes arrays
    @kernel   a function that Python calls: compiled at its first call, kept on disk
    parallel_for(body, tasks, arguments)   inside a kernel: body(task, *arguments) on all threads

Decisions worth knowing:

- Flags. `nogil`: other Python threads run on. `error_model="numpy"`: a division by zero gives inf,
  as in NumPy, instead of a branch and an exception. No `fastmath`: it assumes that no NaN and no
  infinity occur, so masks of -inf break, and it lets the compiler reorder additions, which
  exactness forbids.
- Compilation is lazy: explicit signatures compile while importing, for seconds.
- `parallel_for` hands a function straight to our own threads (pool.py says why they are ours). The
  body is compiled once, without the array analysis of `parallel=True`, which costs seconds a
  kernel. Threads draw tasks as they get to them, so a slow core delays nobody: the launching thread
  from the first on, helpers from the last. So from kernel to kernel the rows of a matrix mostly
  stay with the core that has them in its L2 (768 x 128 x 384 on two threads, 182 -> 175 us). Which
  thread runs a task never changes a bit, because every task owns its outputs.
- Compiled code is kept on disk (cache.py).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import CPUDispatcher
from numba.extending import intrinsic
from numba.types import unliteral

from tensorlite.kernels import cache, pool
from tensorlite.kernels.inside import Inside

P = ParamSpec("P")
R = TypeVar("R")

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


# Nobody calls it from Python or C: without wrappers it compiles in two thirds of the time.
_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": Inside}


class _Inner(CPUDispatcher):
    """What kernels call. Numba would compile it anew for each literal that it is called with; here
    a literal is a number as any other: LLVM still sees its value in what becomes a part of the
    caller. What must be a literal for an intrinsic comes from a closure, not from an argument."""

    def get_call_template(self, args: Any, kws: Any) -> Any:
        numbers = {name: unliteral(kind) for name, kind in kws.items()}
        return super().get_call_template([unliteral(kind) for kind in args], numbers)


def _inner(function: Callable[P, R], **flags: bool) -> Callable[P, R]:
    dispatcher = numba.njit(**FLAGS, **_INSIDE, **flags)(function)
    dispatcher.__class__ = _Inner
    return dispatcher


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function for use inside kernels; it is not cached, its callers are.

    It becomes a part of each of them. A call would pass each array in seven words, through memory:
    a tile of a product wrote a hundred words between two of its stores to c, which then waited for
    each other (4,608 x 128 x 1,536: 159 -> 252 GFLOP/s).

    It makes no arrays and keeps none, so it does not count who refers to those that it is given.
    Counting is atomic, on words that all threads share: in attention's loop over rows it took 34 of
    49 ns a row.
    """
    return _inner(function, _nrt=False, forceinline=True)


def apart(function: Callable[P, R]) -> Callable[P, R]:
    """As `inline`, but a function that is called: for what is long, and not the innermost loop.

    `forceinline` is named, or it would be that of the function that is compiled around this one.
    """
    return _inner(function, _nrt=False, forceinline=False)


def source(function: Callable[P, R]) -> Callable[P, R]:
    """The Python function that one of these compiles."""
    python: Callable[P, R] = getattr(function, "py_func")  # noqa: B009  (no type has it)
    return python


def allocating(function: Callable[P, R]) -> Callable[P, R]:
    """As `inline`, for a function that makes arrays: a task as a whole, not its inner loops."""
    return _inner(function)


class Kernel(CPUDispatcher):
    """What Python calls: one compiled function for each signature; see line.py for why a class."""


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call from Python, or load it from the disk cache."""
    dispatcher = _compiled(function)
    dispatcher.__class__ = Kernel
    return dispatcher


def _compiled(function: Callable[P, R]) -> Any:
    dispatcher = numba.njit(**FLAGS)(function)
    dispatcher._cache = cache.DiskCache(function)
    return dispatcher


# ---------------------------------------------------------------------------------------- threads

MOST_THREADS = pool.MOST_HELPERS + 1
# Seconds that a helper looks for work before it sleeps, about what Python takes between two ops. On
# a busy machine, to spin longer is to use up the time in which one could have helped.
_SPINNING = 200e-6


class _Threads:
    """How many threads kernels use, and the helpers among them; started by the first kernel."""

    def __init__(self) -> None:
        self.number = _environment_threads()
        self.helpers: list[threading.Thread] = []
        self.started = False
        self.lock = threading.RLock()
        self.rounds = 0  # of a helper's spinning
        pool.words[pool.THREADS] = 1

    def use(self, n: int) -> None:
        with self.lock:
            self.number = n
            if self.started:
                self.start()

    def start_once(self) -> None:
        """Before the first kernel that launches runs."""
        if not self.started:
            self.start()

    def start(self) -> None:
        """Make the helpers that are missing, and let launches use them."""
        with self.lock:
            if not self.started:
                self.started = True
                _control(pool.PREPARE, 0)
                self.rounds = _rounds_of(_SPINNING)
                atexit.register(self.stop)
            try:
                while len(self.helpers) < self.number - 1:
                    name = f"tensorlite-{len(self.helpers) + 1}"
                    helper = threading.Thread(target=_help, name=name, daemon=True)
                    helper.start()
                    self.helpers.append(helper)
            except RuntimeError:  # the system has no more threads for us: fewer will do
                pass
            # Where there are not cores enough, whoever spins is in the way.
            pool.words[pool.SPIN] = self.rounds if self.number <= cores() else 0
            self.keep_apart()
            pool.words[pool.THREADS] = self.number

    def keep_apart(self) -> None:
        """Keep helpers off the core of a launch, where there are cores enough for all."""
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        bits = sum(1 << core for core in allowed if core < 1024)
        for i in range(16):
            word = (bits >> (64 * i)) & ((1 << 64) - 1)
            pool.words[pool.ALLOWED + i] = np.uint64(word).astype(np.int64)
        pool.words[pool.CORE] = -1
        pool.words[pool.APART] = 1 < self.number <= bits.bit_count()
        if self.number > len(allowed) > 0:
            for helper in self.helpers:
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(helper.native_id or 0, allowed)

    def stop(self) -> None:
        """At exit, before Python frees the code that the helpers run."""
        pool.words[pool.THREADS] = 1
        _control(pool.DISMISS, 1 << 24)
        for helper in self.helpers:
            helper.join(timeout=1.0)

    def forget(self) -> None:
        """In a forked process, where no helper survived: one thread, until more are asked for."""
        self.lock = threading.RLock()
        self.helpers = []
        self.number = 1
        for word in (pool.OWNER, pool.GATE, pool.ASLEEP, pool.WAITING, pool.APART, pool.HELPERS):
            pool.words[word] = 0
        pool.words[pool.NUMBERS :] = 0
        pool.words[pool.THREADS] = 1
        if self.started:
            _control(pool.PREPARE, 0)


def _environment_threads() -> int:
    """To begin with: NUMBA_NUM_THREADS, or OMP_NUM_THREADS, or the cores of this process."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        asked = os.environ.get(name, "").split(",")[0].strip()  # a list: outermost first
        if asked.isdecimal() and int(asked) > 0:
            return min(int(asked), MOST_THREADS)
    return cores()


def cores() -> int:
    """Those that this process may use, by its affinity and its container's quota."""
    if hasattr(os, "sched_getaffinity"):
        most = len(os.sched_getaffinity(0))
    else:
        most = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(most, -(-int(quota) // int(period))))
    return most


def _rounds_of(seconds: float) -> int:
    """As many rounds of spinning as take so long."""
    taken = []
    for _ in range(5):  # others may be in the way of one
        start = time.perf_counter()
        _control(pool.WAIT, 256)
        taken.append(time.perf_counter() - start)
    return int(256 * seconds / min(taken))


def _help() -> None:
    """A helper thread. Signals are the business of others."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _control(pool.SERVE, threading.get_native_id())


_control = _compiled(pool.control)  # no kernel: a line (line.py) must not start the threads again
_threads = _Threads()
cache.BEFORE[pool.NAME] = _threads.start_once
os.register_at_fork(after_in_child=_threads.forget)


def set_num_threads(n: int) -> None:
    """Use n threads in all kernels of this process; the results are the same bits."""
    if not 1 <= n <= MOST_THREADS:
        raise ValueError(f"set_num_threads: must lie in [1, {MOST_THREADS}], got {n}")
    _threads.use(n)


def get_num_threads() -> int:
    """The number of threads that kernels use."""
    return _threads.number


@intrinsic
def parallel_for(typing, body, tasks, arguments):
    """body(task, *arguments) for task in range(tasks), on the pool's threads in any order.

    body: an @inline function that returns nothing and writes only what belongs to its task.
    With one task or one thread the loop runs in place and the pool is not touched; nor is it where
    another Python thread has it, or a loop around this one.
    """
    inner = body.get_call_type(typing, (types.intp, *arguments.types), {})
    signature = types.void(body, types.intp, arguments)

    def codegen(context, builder, signature, values):
        _threads.start_once()
        intp = ir.IntType(64)
        pointer = ir.IntType(8).as_pointer()
        packed = context.get_value_type(arguments)
        # tasks begun, of them at either end; all tasks; arguments
        shared = ir.LiteralStructType([intp, intp, intp, intp, packed])

        # worker: while begun++ < tasks: body(helper ? tasks - 1 - last++ : first++, *arguments)
        kind = ir.FunctionType(ir.VoidType(), [pointer, intp])
        name = builder.module.get_unique_name(f"worker.{builder.function.name}")
        worker = ir.Function(builder.module, kind, name)
        worker.linkage = "internal"
        inside = ir.IRBuilder(worker.append_basic_block("entry"))
        data = inside.bitcast(worker.args[0], shared.as_pointer())
        begun, first, last, tasks, whole = (
            cgutils.gep_inbounds(inside, data, 0, i) for i in range(5)
        )
        count = inside.load(tasks)
        unpacked = cgutils.unpack_tuple(inside, inside.load(whole))
        helper = inside.icmp_signed("!=", worker.args[1], intp(0))
        own_end = inside.select(helper, last, first)
        loop, work, end = (worker.append_basic_block(n) for n in ("loop", "work", "end"))
        inside.branch(loop)
        inside.position_at_end(loop)
        number = inside.atomic_rmw("add", begun, intp(1), "monotonic")
        inside.cbranch(inside.icmp_signed("<", number, count), work, end)
        inside.position_at_end(work)
        place = inside.atomic_rmw("add", own_end, intp(1), "monotonic")
        from_last = inside.sub(inside.sub(count, intp(1)), place)
        task = inside.select(helper, from_last, place)
        compiled = body.dispatcher.overloads[inner.args]
        context.call_internal_no_propagate(inside, compiled.fndesc, inner, [task, *unpacked])
        inside.branch(loop)
        inside.position_at_end(end)
        inside.ret_void()
        context.active_code_library.add_linking_library(compiled.library)

        # pool.run(worker, data, tasks)
        data = cgutils.alloca_once(builder, shared)
        for i, value in enumerate((intp(0), intp(0), intp(0), values[1], values[2])):
            builder.store(value, cgutils.gep_inbounds(builder, data, 0, i))
        addresses = [builder.ptrtoint(value, intp) for value in (worker, data)]
        launch = types.none(types.intp, types.intp, types.intp)
        context.compile_internal(builder, pool.run, launch, [*addresses, values[1]])
        return context.get_dummy_value()

    return signature, codegen
