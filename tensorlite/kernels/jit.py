"""The one place that calls numba.njit: compiling, the disk cache, and the thread pool.

    @inline   a function that kernels call
    @kernel   a function that Python calls: compiled at its first call, kept on disk
    parallel_for(body, tasks, arguments)   inside a kernel: body(task, *arguments) on all threads

Decisions worth knowing:

- Flags. `nogil`: other Python threads run on. `error_model="numpy"`: a division by zero gives inf,
  as in NumPy, instead of a branch and an exception. No `fastmath`: it assumes that no NaN and no
  infinity occur, so masks of -inf break, and it lets the compiler reorder additions, which
  exactness forbids.
- Compilation is lazy: explicit signatures compile while importing, for seconds.
- `parallel_for` hands a function straight to the pool behind `prange` (`numba_parallel_for`). The
  body is compiled once, without the array analysis of `parallel=True`, which costs seconds a
  kernel. Threads draw task numbers from one atomic counter, so a slow core delays nobody. Which
  thread runs a task never changes a bit, because every task owns its outputs.
- The disk cache holds one file per function and signature. Its folder is named after a hash of all
  kernel sources, the versions of Numba, llvmlite and NumPy, and the CPU: Numba's own cache looks at
  one source file only, and goes stale when a helper in another file changes. Every file carries its
  own checksum and is written beside and renamed, so a torn, foreign or concurrently written file is
  never more than a reason to compile again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import caching, cgutils, config, types
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.extending import intrinsic
from numba.np.ufunc import parallel as pool

P = ParamSpec("P")
R = TypeVar("R")

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}

# OpenMP launches in about 5 us and may be entered by several Python threads at once; workqueue
# takes 170 us and aborts the process in that case. The environment's own choice is respected.
if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function for use inside kernels; it is not cached, its callers are."""
    return numba.njit(**FLAGS)(function)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call from Python, or load it from the disk cache."""
    dispatcher = numba.njit(**FLAGS)(function)
    dispatcher._cache = DiskCache(function)
    return dispatcher


# ---------------------------------------------------------------------------------------- threads


def set_num_threads(n: int) -> None:
    """Use n threads in kernels called from this Python thread; the results are the same bits."""
    most = config.NUMBA_NUM_THREADS
    if not 1 <= n <= most:
        raise ValueError(
            f"set_num_threads: must lie in [1, {most}], got {n}; "
            "set the environment variable NUMBA_NUM_THREADS before the start to allow more"
        )
    numba.set_num_threads(n)


def get_num_threads() -> int:
    """The number of threads that kernels called from this Python thread use."""
    return int(numba.get_num_threads())


def threading_layer() -> str:
    """The library behind the pool: omp, tbb or workqueue."""
    pool._launch_threads()
    return str(numba.threading_layer())


def _one_thread_after_fork() -> None:
    """OpenMP's pool does not survive a fork; the child computes the same bits on one thread."""
    if pool._is_initialized:
        numba.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread_after_fork)


@intrinsic
def parallel_for(typing, body, tasks, arguments):
    """body(task, *arguments) for task in range(tasks), on the pool's threads in any order.

    body: an @inline function that returns nothing and writes only what belongs to its task.
    With one task or one thread the loop runs in place and the pool is not touched.
    """
    inner = body.get_call_type(typing, (types.intp, *arguments.types), {})
    signature = types.void(body, types.intp, arguments)

    def codegen(context, builder, signature, values):
        pool._launch_threads()
        intp, void = ir.IntType(64), ir.VoidType()
        pointer = ir.IntType(8).as_pointer()
        packed = context.get_value_type(arguments)
        shared = ir.LiteralStructType([intp, intp, packed])  # next task, tasks, arguments

        # worker: while (task = next++) < tasks: body(task, *arguments)
        kind = ir.FunctionType(
            void, [pointer.as_pointer(), intp.as_pointer(), intp.as_pointer(), pointer]
        )
        name = builder.module.get_unique_name(f"worker.{builder.function.name}")
        worker = ir.Function(builder.module, kind, name)
        worker.linkage = "internal"
        inside = ir.IRBuilder(worker.append_basic_block("entry"))
        data = inside.bitcast(worker.args[3], shared.as_pointer())
        counter = cgutils.gep_inbounds(inside, data, 0, 0)
        count = inside.load(cgutils.gep_inbounds(inside, data, 0, 1))
        whole = inside.load(cgutils.gep_inbounds(inside, data, 0, 2))
        unpacked = cgutils.unpack_tuple(inside, whole)
        loop, work, end = (worker.append_basic_block(n) for n in ("loop", "work", "end"))
        inside.branch(loop)
        inside.position_at_end(loop)
        task = inside.atomic_rmw("add", counter, intp(1), "monotonic")
        inside.cbranch(inside.icmp_signed("<", task, count), work, end)
        inside.position_at_end(work)
        compiled = body.dispatcher.overloads[inner.args]
        context.call_internal_no_propagate(inside, compiled.fndesc, inner, [task, *unpacked])
        inside.branch(loop)
        inside.position_at_end(end)
        inside.ret_void()
        context.active_code_library.add_linking_library(compiled.library)

        tasks = values[1]
        data = cgutils.alloca_once(builder, shared)
        builder.store(intp(0), cgutils.gep_inbounds(builder, data, 0, 0))
        builder.store(tasks, cgutils.gep_inbounds(builder, data, 0, 1))
        builder.store(values[2], cgutils.gep_inbounds(builder, data, 0, 2))
        data = builder.bitcast(data, pointer)
        threads = builder.call(
            cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(intp, []), "get_num_threads"
            ),
            [],
        )
        fewer = builder.icmp_signed("<", tasks, threads)
        threads = builder.select(fewer, tasks, threads)
        null = cgutils.get_null_value
        with builder.if_else(builder.icmp_signed(">", threads, intp(1))) as (many, one):
            with many:
                launch = cgutils.get_or_insert_function(
                    builder.module,
                    ir.FunctionType(void, [pointer] * 5 + [intp] * 3),
                    "numba_parallel_for",
                )
                dimensions = cgutils.alloca_once_value(builder, threads)
                steps = cgutils.alloca_once_value(builder, intp(0))
                no_arrays = cgutils.alloca_once_value(builder, null(pointer))
                as_pointer = [
                    builder.bitcast(v, pointer) for v in (worker, no_arrays, dimensions, steps)
                ]
                # Each thread runs the worker once: one "row" a thread, no arrays to step through.
                builder.call(launch, [*as_pointer, data, intp(0), intp(0), threads])
            with one:
                builder.call(worker, [null(t) for t in kind.args[:3]] + [data])
        return context.get_dummy_value()

    return signature, codegen


# ------------------------------------------------------------------------------------- disk cache


def _fingerprint() -> str:
    """A hash of everything that the machine code depends on."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    for fact in (
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.version,
        platform.machine(),
        config.CPU_NAME or llvm.get_host_cpu_name(),
        config.CPU_FEATURES or llvm.get_host_cpu_features().flatten(),
        config.OPT,
        FLAGS,
    ):
        digest.update(repr(fact).encode())
    return digest.hexdigest()[:16]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _cache_folder() -> Path | None:
    """The first of these that can be written: the environment's, the package's, the user's."""
    name = f"tensorlite-{_fingerprint()}"
    chosen = os.environ.get("TENSORLITE_CACHE_DIR")
    if chosen:
        candidates = [Path(chosen)]
    else:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        candidates = [Path(__file__).parent / "__pycache__", Path(home) / "tensorlite"]
    for parent in candidates:
        if _writable(parent / name):
            return parent / name
    return None


CACHE_FOLDER = _cache_folder()


class DiskCache(caching._Cache):
    """Compiled code on disk, a file per signature: sha256 of the rest, then Numba's own pickle."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self.hits = 0

    @property
    def cache_path(self) -> str | None:
        return None if CACHE_FOLDER is None else str(CACHE_FOLDER)

    def load_overload(self, sig: object, target_context: Any) -> CompileResult | None:
        target_context.refresh()
        path = self._path(sig)
        if path is None:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        pool._launch_threads()  # the symbols of the pool must exist before code that names them
        try:
            result = CompileResult._rebuild(target_context, *pickle.loads(content[32:]))
        except Exception:  # written by something we do not know: compile
            return None
        self.hits += 1
        return result

    def save_overload(self, sig: object, data: CompileResult) -> None:
        path = self._path(sig)
        if path is None or data.library.has_dynamic_globals:
            return
        content = dumps(data._reduce())
        beside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            beside.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(beside, path)
        except OSError:  # a full or read-only disk costs the next process a compilation, no more
            with contextlib.suppress(OSError):
                beside.unlink()

    def _path(self, sig: object) -> Path | None:
        if CACHE_FOLDER is None:
            return None
        captured = [cell.cell_contents for cell in self.function.__closure__ or ()]
        key = repr((sig, [getattr(c, "__qualname__", c) for c in captured]))
        return CACHE_FOLDER / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin"

    def enable(self) -> None:
        pass

    def disable(self) -> None:
        pass

    def flush(self) -> None:
        pass
