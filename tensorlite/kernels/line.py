"""Calls of kernels, noted as Python makes them, then put in a line: one function of machine code.

Python takes 5 to 20 us from one kernel to the next, and several times that where what kernels read
has driven Python's own memory from the caches: a token of a model with 124M weights is 98 kernels,
13.6 ms of work, and was 1.8 ms of Python. In a line a call costs what it costs in C.

Every number, size and address that a call was given is a constant in the line. So what it works on
is what lies in those arrays when it runs, and a line keeps its arrays alive.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tensorlite.kernels.jit import Kernel

Call: TypeAlias = tuple[Any, tuple[Any, ...]]  # a kernel and its arguments

_WORD = ir.IntType(64)


class Notes:
    """The calls of kernels that this Python thread makes in a `with` block; one at a time."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __enter__(self) -> Notes:
        native, here = Kernel.__call__, threading.get_ident()

        def call(kernel: Any, *arguments: Any) -> Any:
            value = native(kernel, *arguments)
            if threading.get_ident() == here:
                self.calls.append((kernel, arguments))
            return value

        # Where a class has this method, Python calls it; where it has none, Numba's own in C.
        Kernel.__call__ = call
        return self

    def __exit__(self, *exception: object) -> None:
        del Kernel.__call__


def line_of(calls: list[Call]) -> Callable[[], None]:
    """A function that makes these calls again, without Python; they must not return anything."""
    module = ir.Module("line")
    module.triple = llvm.get_process_triple()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "line")
    builder = ir.IRBuilder(function.append_basic_block())
    kernels: dict[str, ir.Function] = {}
    results: dict[ir.Type, ir.Value] = {}  # where kernels say what they return, or raise: nothing
    for kernel, arguments in calls:
        compiled = kernel.overloads[tuple(map(kernel.typeof_pyval, arguments))]
        what, convention = compiled.fndesc, compiled.target_context.call_conv
        name = what.llvm_func_name
        if name not in kernels:
            kind = convention.get_function_type(what.restype, what.argtypes)
            kernels[name] = ir.Function(module, kind, name)
            llvm.add_symbol(name, compiled.library.get_pointer_to_function(name))
        kinds = kernels[name].function_type.args
        for kind in kinds[:2]:
            if kind not in results:
                results[kind] = builder.alloca(kind.pointee)
        values = [_constant(*pair) for pair in zip(kinds[2:], _leaves(arguments), strict=True)]
        builder.call(kernels[name], [*(results[kind] for kind in kinds[:2]), *values])
    builder.ret_void()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=0, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    return _Line(engine, calls)


def _leaves(value: Any) -> Iterator[Any]:
    """The numbers that Numba makes of an argument: of an array seven or more."""
    if isinstance(value, tuple):
        for member in value:
            yield from _leaves(member)
    elif isinstance(value, np.ndarray):
        # Nobody counts who refers to it, and no Python object is behind it.
        yield from (0, 0, value.size, value.itemsize, value.__array_interface__["data"][0])
        yield from (*value.shape, *value.strides)
    else:
        yield 0 if value is None else value


def _constant(kind: ir.Type, value: Any) -> ir.Constant:
    if isinstance(kind, ir.PointerType):
        return _WORD(value).inttoptr(kind)
    return kind(int(value) if isinstance(kind, ir.IntType) else float(value))


class _Line:
    """What line_of returns."""

    def __init__(self, engine: Any, calls: list[Call]) -> None:
        self.engine, self.calls = engine, calls  # code and arrays, for as long as it may run
        self.run = ctypes.CFUNCTYPE(None)(engine.get_function_address("line"))

    def __call__(self) -> None:
        self.run()
