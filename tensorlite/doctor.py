"""What this machine and this installation give, what is wrong with them, and what to do about it.

`examine` measures and finds; `python -m tensorlite doctor` prints it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np

from tensorlite.kernels import cache as disk, jit, machine, simd
from tensorlite.kernels.matmul import product
from tensorlite.kernels.processor import FEATURES

PACKAGES = ("tensorlite", "numpy", "numba", "llvmlite", "safetensors")


@dataclass
class Finding:
    """One line of the report; `remedy` says what to do where something is wrong."""

    topic: str
    text: str
    remedy: str = ""

    def as_text(self) -> str:
        """One line; two with a remedy."""
        if not self.remedy:
            return f"{self.topic:10}   {self.text}"
        return f"{self.topic:10} ! {self.text}\n{'':10} ! -> {self.remedy}"


def examine(seconds: float = 0.3) -> Iterator[Finding]:
    """Every finding, as it is made; each measurement takes about so many seconds."""
    for look in (versions, processor, threads, launches, cache, correctness):
        yield from look()
    yield from ceilings(seconds)


def versions() -> Iterator[Finding]:
    """Of Python, the packages and the system."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # run from its sources
            found.append(f"{name}, not installed")
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    yield Finding("versions", f"Python {platform.python_version()}, {', '.join(found)}; {system}")
    if numba.config.DISABLE_JIT:
        yield Finding(
            "versions", "NUMBA_DISABLE_JIT is set, and no kernel can run", "unset NUMBA_DISABLE_JIT"
        )


def processor() -> Iterator[Finding]:
    """Name, cores and vectors."""
    features = llvm.get_host_cpu_features()
    known = [
        name
        for name in ("avx512f", "avx2", "fma", "avx512vnni", "amx-bf16", "neon", "sve")
        if features.get(name)
    ]
    bits = simd.REGISTER_BITS
    yield Finding(
        "processor",
        f"{processor_name()} ({processor_kind()}), {jit.cores()} of {os.cpu_count()} cores "
        f"for this process; SIMD of {bits} bits ({', '.join(known) or 'baseline'})"
        f"{'; float32 products by tile registers' if simd.TILES else ''}",
    )
    if {"avx512f", "amx-tile", "amx-bf16"} <= FEATURES and not simd.TILES:
        yield Finding(
            "processor",
            "it has tile registers (AMX), but the system does not let this process use them: "
            "float32 products run at half their speed",
            "unset TENSORLITE_TILES; run on Linux 5.16 or newer, outside containers that forbid "
            "arch_prctl; import tensorlite before what gives signals a small stack of their own",
        )
    if platform.machine() in ("x86_64", "AMD64") and not features.get("fma"):
        yield Finding(
            "processor",
            "there are no fused multiply-adds, which products are made of: they are emulated, "
            "right but slow",
            "use a machine or an emulator with AVX2 and FMA",
        )


def processor_name() -> str:
    """As the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def processor_kind() -> str:
    """LLVM's name of the microarchitecture. That goes by the number of the model, which a virtual
    machine may make up: what calls itself a Rocket Lake and has AMX is a Sapphire Rapids."""
    name = llvm.get_host_cpu_name()
    invented = name == "rocketlake" and llvm.get_host_cpu_features().get("amx-tile")
    return "sapphirerapids" if invented else name


def threads() -> Iterator[Finding]:
    """How many, on which pool, and who asked for it."""
    names = [n for n in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if n in os.environ]
    chosen = ", ".join(f"{name}={os.environ[name]}" for name in names)
    number, cores = jit.get_num_threads(), jit.cores()
    yield Finding("threads", f"{number} on {cores} cores{f' ({chosen})' if chosen else ''}")
    if number > cores:
        yield Finding(
            "threads", f"{number} threads share {cores} cores, and wait for each other",
            f"set OMP_NUM_THREADS={cores}",
        )  # fmt: skip
    elif number < cores:
        yield Finding(
            "threads", f"{cores - number} cores are left idle",
            f"call tensorlite.set_num_threads({cores}), or unset what limits them",
        )  # fmt: skip


def launches() -> Iterator[Finding]:
    """What it costs to hand work to the pool, and whether others keep it waiting."""
    a = np.ones((64, 64), np.float32)
    product(a, a)
    alone = _median(lambda: product(a, a))
    marks = np.empty(jit.get_num_threads())
    machine.launch(marks)
    launched = _median(lambda: machine.launch(marks))
    text = f"{1e6 * launched:.0f} us to hand work to the threads"
    yield Finding("launches", f"{text}; a 64 x 64 product takes {1e6 * alone:.0f} us")
    if launched > 500e-6:
        yield Finding(
            "launches",
            "the threads are waited for: other programs keep the cores busy",
            f"stop them, or leave them a core: OMP_NUM_THREADS={max(1, jit.get_num_threads() - 1)}",
        )


def _median(run: Callable[[], object], times: int = 200) -> float:
    """Seconds of one call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def cache() -> Iterator[Finding]:
    """Where compiled kernels are kept, how many, and what older versions left behind."""
    folder = disk.CACHE_FOLDER
    if folder is None:
        yield Finding(
            "cache",
            "every process compiles anew, for many seconds, since none of these can be written: "
            + ", ".join(str(place.parent) for place in disk.CACHE_FOLDERS),
            "set TENSORLITE_CACHE_DIR to a folder that can",
        )
    for place in disk.CACHE_FOLDERS:
        if place.is_dir():
            files = list(place.glob("*.bin"))
            size = sum(file.stat().st_size for file in files) / 1e6
            writable = "writable" if place == folder else "read only"
            yield Finding("cache", f"{place}: {len(files)} kernels, {size:.1f} MB, {writable}")
        old = left_behind(place)
        if old:
            size = sum(file.stat().st_size for f in old for file in f.glob("*")) / 1e6
            yield Finding(
                "cache",
                f"{place.parent}: {len(old)} folders of other versions, {size:.1f} MB; to delete "
                "them: python -m tensorlite clean",
            )
    if folder is not None and not any(folder.glob("*.bin")):
        yield Finding(
            "cache",
            "nothing is compiled yet; to do it now: python -m tensorlite warmup",
        )


def left_behind(place: Path) -> list[Path]:
    """The cache folders beside this one, of other versions of kernels, packages or CPU."""
    hash_ = "[0-9a-f]" * 16
    return [f for f in place.parent.glob(f"tensorlite-{hash_}") if f != place and f.is_dir()]


def clean() -> int:
    """Delete what other versions left behind, and return how many folders that were."""
    count = 0
    for place in disk.CACHE_FOLDERS:
        for old in left_behind(place):
            with contextlib.suppress(OSError):  # not ours to delete, or not only ours
                for file in old.glob("*.bin*"):
                    file.unlink(missing_ok=True)
                old.rmdir()
                count += 1
    return count


def correctness() -> Iterator[Finding]:
    """Does a kernel compute here what it should, and the same on one thread and on all?"""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((200, 200)) for _ in range(2))
    before = jit.get_num_threads()
    c = product(a, b)
    jit.set_num_threads(1)
    alone = product(a, b)
    jit.set_num_threads(before)
    if np.allclose(c, a @ b) and np.array_equal(c, alone):
        yield Finding("kernels", f"a product is right, and the same bits on 1 and {before} threads")
    else:
        yield Finding(
            "kernels",
            "a matrix product is wrong on this machine",
            "report it with this output; until then delete the cache: python -m tensorlite clean",
        )


def ceilings(seconds: float) -> Iterator[Finding]:
    """Arithmetic peak and memory speed on one thread and on all."""
    speeds = {}
    most = jit.get_num_threads()
    for n in dict.fromkeys((1, most)):
        speeds[n] = machine.peak(n, seconds), machine.read_bandwidth(n, seconds)
        flops, reads = speeds[n]
        yield Finding(
            "ceilings",
            f"{n} thread{'s' if n > 1 else ''}: {flops / 1e9:.0f} GFLOP/s in float32, memory reads "
            f"at {reads / 1e9:.1f} GB/s; at most {reads / 0.498e9:.0f} tokens/s of GPT-2 124M",
        )
    if most > 1 and speeds[most][0] < 0.7 * most * speeds[1][0]:
        yield Finding(
            "ceilings",
            f"{most} threads reach {speeds[most][0] / speeds[1][0]:.1f} times the peak of one",
            "stop other programs; on a virtual machine the cores may be halves of real ones",
        )
