"""What the processor that Numba compiles for can do."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

import llvmlite.binding as llvm
from numba.core import config

SWITCH = "TENSORLITE_TILES"  # 0: no tile registers


def _features() -> frozenset[str]:
    """LLVM's names of its instruction sets."""
    if config.CPU_FEATURES is not None:
        return frozenset(f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+"))
    if config.CPU_NAME == "generic":
        return frozenset()
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def _tiles_granted() -> bool:
    """Ask Linux to keep this process's tile registers: 8 KB a thread, so it does not unasked.

    arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), from Linux 5.16 on; see
    Documentation/arch/x86/xstate.rst. It may be asked for twice, and holds in forked processes. A
    process with a thread whose signals have a stack of their own, too small for those registers, is
    refused; one that was granted may make no such stack. Whoever must have the bits of
    multiply-adds on any machine sets TENSORLITE_TILES=0.
    """
    x86_64 = platform.machine() == "x86_64" and sys.maxsize > 2**32
    if not (x86_64 and sys.platform.startswith("linux")) or os.environ.get(SWITCH) == "0":
        return False
    arch_prctl, request, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0


FEATURES = _features()
# Whether products of bfloat16 tiles are to be had, as on Intel's processors from Sapphire Rapids
# on; see parts.py for what float32 products make of them.
TILES = {"avx512f", "amx-tile", "amx-bf16"} <= FEATURES and _tiles_granted()
if TILES:  # LLVM has names for their instructions, and no other way to say where they go
    llvm.initialize_native_asmparser()
