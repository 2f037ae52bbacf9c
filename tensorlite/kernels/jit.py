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
  one source file only, and goes stale when a helper in another file changes. Every file carries a
  checksum of its content and of what it is for, and is written beside and renamed, so a torn,
  foreign or concurrently written file is never more than a reason to compile again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import caching, cgutils, config, types
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
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
    """Compile a function for use inside kernels; it is not cached, its callers are.

    Nobody calls it from Python or C, so it gets no wrappers: a third of the time of compiling.
    """
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.njit(**FLAGS, **wrappers)(function)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call from Python, or load it from the disk cache."""
    dispatcher = numba.njit(**FLAGS)(function)
    dispatcher._cache = DiskCache(function)
    return dispatcher


# ---------------------------------------------------------------------------------------- threads

# Two words that compiled code reads: how many threads a launch uses, and the state of the pool, on
# cache lines of their own. Numba's own count will not do: it belongs to one Python thread, and a
# launch with few tasks overwrites it (3 tasks on 8 threads, and all later kernels run on 3).
_words = np.zeros(16, np.int64)
llvm.add_symbol("tensorlite_threads", _words.ctypes.data)
llvm.add_symbol("tensorlite_pool", _words.ctypes.data + 64)
_FREE, _BUSY, _REENTRANT = 0, 1, 2  # states of the pool

_forked = False  # this process was forked off one whose pool was running


def set_num_threads(n: int) -> None:
    """Use n threads in all kernels of this process; the results are the same bits."""
    most = config.NUMBA_NUM_THREADS
    if not 1 <= n <= most:
        raise ValueError(
            f"set_num_threads: must lie in [1, {most}], got {n}; "
            "set the environment variable NUMBA_NUM_THREADS before the start to allow more"
        )
    if n > 1 and _forked:
        raise RuntimeError(
            f"set_num_threads: must be 1 in a forked process, got {n}, because threads do not "
            "survive a fork; start the process by spawn or forkserver to use more"
        )
    _words[0] = n


def get_num_threads() -> int:
    """The number of threads that kernels use."""
    return int(_words[0])


def _environment_threads() -> int:
    """The number of threads to begin with: NUMBA_NUM_THREADS, or OMP_NUM_THREADS up to it."""
    most = int(config.NUMBA_NUM_THREADS)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list: outermost first
    if "NUMBA_NUM_THREADS" in os.environ or not asked.isdecimal() or int(asked) == 0:
        return most
    return min(int(asked), most)


_words[0] = _environment_threads()


def threading_layer() -> str:
    """The library behind the pool: omp, tbb or workqueue."""
    _start_pool()
    return str(numba.threading_layer())


def _start_pool() -> None:
    """Start the pool's threads, if they do not run yet, and note what it can bear."""
    if not pool._is_initialized:
        with _patient_openmp():
            pool._launch_threads()
        _words[8] = _FREE if numba.threading_layer() == "workqueue" else _REENTRANT


@contextlib.contextmanager
def _patient_openmp() -> Iterator[None]:
    """Let OpenMP's threads sleep at once instead of spinning for 7 ms, unless the user chose.

    Spinning saves 8 us a launch on an idle machine. Where anything else wants a core, a spinning
    thread uses up its time slice, is descheduled, and every launch waits for it: 7 ms, not 10 us.
    libgomp reads the variable once, when it is loaded.
    """
    chosen = "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = "0"
    try:
        yield
    finally:
        if not chosen:
            del os.environ["GOMP_SPINCOUNT"]


def _one_thread_after_fork() -> None:
    """The pool's threads do not survive a fork; the child computes the same bits on one thread."""
    global _forked
    if pool._is_initialized:
        _forked = True
        _words[0] = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread_after_fork)


@intrinsic
def parallel_for(typing, body, tasks, arguments):
    """body(task, *arguments) for task in range(tasks), on the pool's threads in any order.

    body: an @inline function that returns nothing and writes only what belongs to its task.
    With one task or one thread the loop runs in place and the pool is not touched. It also does
    where the pool is busy with another Python thread's launch and could not bear a second one
    (workqueue aborts the process).
    """
    inner = body.get_call_type(typing, (types.intp, *arguments.types), {})
    signature = types.void(body, types.intp, arguments)

    def codegen(context, builder, signature, values):
        _start_pool()
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
        threads = builder.load(_global(builder.module, "tensorlite_threads"))
        fewer = builder.icmp_signed("<", tasks, threads)
        threads = builder.select(fewer, tasks, threads)
        null = cgutils.get_null_value
        alone = builder.append_basic_block("alone")
        ask, launch, done = (builder.append_basic_block(n) for n in ("ask", "launch", "done"))
        builder.cbranch(builder.icmp_signed(">", threads, intp(1)), ask, alone)

        builder.position_at_end(ask)
        state = _global(builder.module, "tensorlite_pool")
        found = builder.cmpxchg(state, intp(_FREE), intp(_BUSY), "acquire", "monotonic")
        found = builder.extract_value(found, 0)
        builder.cbranch(builder.icmp_signed("==", found, intp(_BUSY)), alone, launch)

        builder.position_at_end(launch)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(void, [pointer] * 5 + [intp] * 3),
            "numba_parallel_for",
        )
        dimensions = cgutils.alloca_once_value(builder, threads)
        steps = cgutils.alloca_once_value(builder, intp(0))
        no_arrays = cgutils.alloca_once_value(builder, null(pointer))
        as_pointer = [builder.bitcast(v, pointer) for v in (worker, no_arrays, dimensions, steps)]
        # Each thread runs the worker once: one "row" a thread, no arrays to step through.
        builder.call(function, [*as_pointer, data, intp(0), intp(0), threads])
        with builder.if_then(builder.icmp_signed("==", found, intp(_FREE))):
            builder.store_atomic(intp(_FREE), state, "release", 8)
        builder.branch(done)

        builder.position_at_end(alone)
        builder.call(worker, [null(t) for t in kind.args[:3]] + [data])
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


def _global(module: ir.Module, name: str) -> ir.GlobalVariable:
    """One of the words above, as compiled code sees it: found by name when the code is loaded."""
    known = module.globals.get(name)
    return ir.GlobalVariable(module, ir.IntType(64), name) if known is None else known


# ------------------------------------------------------------------------------------- disk cache


KERNELS = Path(__file__).parent


def _fingerprint() -> str:
    """A hash of everything that the machine code depends on."""
    digest = hashlib.sha256()
    for path in sorted(KERNELS.rglob("*.py")):
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


def _cache_folders() -> list[Path]:
    """Where compiled code may lie: the environment's folder; or the package's, then the user's."""
    chosen = os.environ.get("TENSORLITE_CACHE_DIR")
    if chosen:
        parents = [Path(chosen)]
    else:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        parents = [KERNELS / "__pycache__"]
        if os.path.isabs(home):  # else nobody's home is known
            parents.append(Path(home) / "tensorlite")
    name = f"tensorlite-{_fingerprint()}"
    return [parent.absolute() / name for parent in parents]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


# Read from all of them (an image or a shared disk may bring a full one that cannot be written),
# write to the first that can be written; None: nothing is kept.
CACHE_FOLDERS = _cache_folders()
CACHE_FOLDER = next(filter(_writable, CACHE_FOLDERS), None)


class DiskCache(caching._Cache):
    """Compiled code, a file per signature: sha256 of key and content, then Numba's own pickle."""

    def __init__(self, function: Callable[..., object]) -> None:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self.name = name.replace("<locals>.", "")
        self.function = function
        self.hits = 0

    @property
    def cache_path(self) -> str | None:
        return None if CACHE_FOLDER is None else str(CACHE_FOLDER)

    def load_overload(self, sig: object, target_context: Any) -> CompileResult | None:
        name, key = self._name_and_key(sig)
        for folder in CACHE_FOLDERS if name else ():
            try:
                content = (folder / name).read_bytes()
            except OSError:
                continue
            if hashlib.sha256(key + content[32:]).digest() != content[:32]:
                continue
            try:
                symbols, parts = pickle.loads(content[32:])
                _provide(symbols, target_context)
                result = CompileResult._rebuild(target_context, *parts)
            except Exception:  # written by something we do not know: compile
                continue
            self.hits += 1
            return result
        return None

    def save_overload(self, sig: object, data: CompileResult) -> None:
        name, key = self._name_and_key(sig)
        if not name or CACHE_FOLDER is None or data.library.has_dynamic_globals:
            return
        module = data.library._final_module
        declared = [*module.functions, *module.global_variables]
        symbols = [d.name for d in declared if d.is_declaration and not d.name.startswith("llvm.")]
        content = dumps((symbols, data._reduce()))
        beside = CACHE_FOLDER / f"{name}.{os.getpid()}.{os.urandom(6).hex()}"
        try:
            beside.write_bytes(hashlib.sha256(key + content).digest() + content)
            os.replace(beside, CACHE_FOLDER / name)
        except OSError:  # a full or read-only disk costs the next process a compilation, no more
            with contextlib.suppress(OSError):
                beside.unlink()

    @functools.cached_property
    def identity(self) -> str | None:
        return _identity(self.function)

    def _name_and_key(self, sig: object) -> tuple[str, bytes]:
        """The file's name, empty if the function is not to be kept, and what the file is for."""
        if self.identity is None:
            return "", b""
        key = f"{self.identity} {sig}".encode()
        return f"{self.name}-{hashlib.sha256(key).hexdigest()[:16]}.bin", key

    def enable(self) -> None:
        pass

    def disable(self) -> None:
        pass

    def flush(self) -> None:
        pass


def _provide(symbols: list[str], target_context: Any) -> None:
    """Make the symbols known that code from the disk refers to.

    Numba's way, `refresh`, imports its whole library of types for that, .4 s in each process; the
    memory manager and the pool are what our kernels use.
    """
    rtsys.initialize(target_context)
    _start_pool()
    if not all(map(llvm.address_of_symbol, symbols)):
        target_context.refresh()


def _identity(function: Any) -> str | None:
    """What tells this function from all others, its closure included; None if nothing does.

    The folder's name covers the sources of this package's kernels. A kernel from elsewhere brings
    the hash of its own file, and is not kept if it has none (typed into an interpreter).
    """
    code = function.__code__
    identity = f"{function.__module__}.{function.__qualname__}:{code.co_firstlineno}"
    path = Path(code.co_filename)
    if KERNELS not in path.parents:
        try:
            identity += f":{hashlib.sha256(path.read_bytes()).hexdigest()}"
        except OSError:
            return None
    for cell in function.__closure__ or ():
        captured = cell.cell_contents
        captured = getattr(captured, "py_func", captured)
        if hasattr(captured, "__code__"):
            inner = "itself" if captured is function else _identity(captured)
            if inner is None:
                return None
            identity += f"({inner})"
        elif isinstance(captured, np.ndarray):
            identity += f"({captured.dtype}{captured.shape}{captured.tobytes()!r})"
        else:
            identity += f"({captured!r})"
    return identity
