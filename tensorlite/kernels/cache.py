"""Compiled kernels on disk: one file per function and signature.

The folder is named after a hash of all kernel sources, the versions of Numba, llvmlite and NumPy,
and the CPU with what the system lets it use: Numba's own cache looks at one source file only, and
goes stale when a helper in another file changes. Every file carries a checksum of its content and
of what it is for, and is written beside and renamed, so a torn, foreign or concurrently written
file is never more than a reason to compile again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import pickle
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import caching, config
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from tensorlite.kernels.processor import TILES

KERNELS = Path(__file__).parent


def _count_from_anywhere() -> None:
    """Let Numba number the functions that this process compiles from a place of its own.

    The number is what tells functions of one name and signature apart in machine code, such as
    those that a factory makes, and Numba begins with 1. Code from the disk brings the numbers of
    other processes: the linker took its gelu for our relu.
    """
    FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6), "little"))


_count_from_anywhere()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_from_anywhere)


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
        TILES,
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
        for told in AT_MISS if name else ():
            told(self.name)
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


# Told of every kernel, by its name, that is about to be compiled.
AT_MISS: list[Callable[[str], None]] = []
# By a symbol that compiled code may name: what must be done before that code runs.
BEFORE: dict[str, Callable[[], None]] = {}


def _provide(symbols: list[str], target_context: Any) -> None:
    """Make the symbols known that code from the disk refers to.

    Numba's way, `refresh`, imports its whole library of types for that, .4 s in each process; its
    memory manager is what our kernels use.
    """
    rtsys.initialize(target_context)
    for symbol in BEFORE.keys() & symbols:
        BEFORE[symbol]()
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
