"""Numbers of formulas, kept in memory as vectors, for processors of 16 registers.

An exponential has 13 numbers. Those that find no register LLVM makes anew for every vector, by two
instructions each: one for an address of 64 bits, for compiled code may lie anywhere, and one that
spreads what is there over the lanes. Read from here, most are no instruction of their own but an
operand of the one that needs them (a vector of softmax: 68 -> 47; 4,096 x 1,024 on a Zen 3: .83 of
the time, gelu .87, gelu's gradient .85).
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

_SIZE = 32  # bytes of a vector where registers are few
_places: dict[tuple[int, float], tuple[str, int]] = {}  # (bits, number) -> table and byte
_memories: list[np.ndarray] = []  # compiled code knows only where they lie


def keep(table: str, *numbers: float) -> None:
    """Keep vectors of these, as float32 and float64, where compiled code finds them by the name of
    the table, in whichever process it runs: the same ones in the same order."""
    vectors: list[np.ndarray] = []
    for number in numbers:
        for kind in (np.float32, np.float64):
            key = (8 * np.dtype(kind).itemsize, float(kind(number)))
            if key not in _places:
                _places[key] = (_symbol(table), len(vectors) * _SIZE)
                vectors.append(np.full(_SIZE // np.dtype(kind).itemsize, number, kind))
    memory = np.empty(len(vectors) * _SIZE + _SIZE, np.uint8)
    memory = memory[-memory.ctypes.data % _SIZE :]
    memory[: len(vectors) * _SIZE] = np.concatenate([v.view(np.uint8) for v in vectors])
    _memories.append(memory)
    llvm.add_symbol(_symbol(table), memory.ctypes.data)


def _symbol(table: str) -> str:
    return f"tensorlite_constants_{table}"


def kept(builder: Any, number: float, vector: Any) -> Any:
    """The LLVM vector of this number, read from memory; None where it is not kept."""
    if isinstance(vector.element, ir.FloatType):
        key = (32, float(np.float32(number)))
    elif isinstance(vector.element, ir.DoubleType):
        key = (64, float(number))
    else:
        return None
    if key not in _places:
        return None
    symbol, byte = _places[key]
    table = builder.module.globals.get(symbol)
    if table is None:
        table = ir.GlobalVariable(builder.module, ir.IntType(8), symbol)
    pointer = builder.gep(table, [ir.IntType(64)(byte)])
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = _SIZE
    return value
