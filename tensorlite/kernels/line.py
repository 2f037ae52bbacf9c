"""Calls of kernels, noted as Python makes them, then put in a line: one function of machine code.

From one kernel to the next Python takes 5 to 20 us, and more where what kernels read has driven its
own memory from the caches: of a token of 124M weights it was 1.8 ms beside 13.6 of kernels. In a
line a call costs what it costs in C.

Every number, size and address that a call was given is a constant in the line. So what it works on
is what lies in those arrays when it runs, and a line keeps its arrays alive.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tensorlite.kernels.jit import Kernel

Call: TypeAlias = tuple[Any, tuple[Any, ...]]  # a kernel and its arguments

_WORD, _STATUS = ir.IntType(64), ir.IntType(32)


class Notes:
    """`with Notes() as calls`: the calls of kernels that this Python thread makes in the block."""

    _taken: ClassVar[dict[int, list[Call]]] = {}  # by Python thread
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __enter__(self) -> list[Call]:
        self.thread = threading.get_ident()
        calls: list[Call] = []
        with self._lock:
            self.outer = self._taken.get(self.thread)
            self._taken[self.thread] = calls
            # Where a class has this method, Python calls it; where it has none, Numba's own in C.
            Kernel.__call__ = _noted
        return calls

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            if self.outer is None:
                del self._taken[self.thread]
            else:
                self._taken[self.thread] = self.outer
            if not self._taken:
                del Kernel.__call__


_native = Kernel.__call__


def _noted(kernel: Any, *arguments: Any) -> Any:
    """Call a kernel; note it where this thread takes notes."""
    value = _native(kernel, *arguments)
    calls = Notes._taken.get(threading.get_ident())
    if calls is not None:
        calls.append((kernel, arguments))
    return value


def line_of(calls: list[Call]) -> Callable[[], None]:
    """A function that makes these calls again, without Python; they must not return anything."""
    module = ir.Module("line")
    module.triple = llvm.get_process_triple()
    function = ir.Function(module, ir.FunctionType(_STATUS, []), "line")
    builder = ir.IRBuilder(function.append_basic_block())
    kernels: dict[str, ir.Function] = {}
    answers: dict[ir.Type, ir.Value] = {}  # room for what a kernel returns, and for what it raises
    failed = _STATUS(0)
    for kernel, arguments in calls:
        compiled = kernel.overloads[tuple(map(kernel.typeof_pyval, arguments))]
        what, convention = compiled.fndesc, compiled.target_context.call_conv
        name = what.llvm_func_name
        if name not in kernels:
            kind = convention.get_function_type(what.restype, what.argtypes)
            kernels[name] = ir.Function(module, kind, name)
            llvm.add_symbol(name, compiled.library.get_pointer_to_function(name))
        kinds = kernels[name].function_type.args
        for kind in kinds[:2]:  # Numba's convention: pointers to these two come first
            if kind not in answers:
                answers[kind] = builder.alloca(kind.pointee)
        values = [_constant(*pair) for pair in zip(kinds[2:], _leaves(arguments), strict=True)]
        status = builder.call(kernels[name], [*(answers[kind] for kind in kinds[:2]), *values])
        failed = builder.or_(failed, status)
    builder.ret(failed)
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
        self.run = ctypes.CFUNCTYPE(ctypes.c_int32)(engine.get_function_address("line"))

    def __call__(self) -> None:
        if self.run() != 0:
            raise RuntimeError("replay: a kernel raised an error; the usual one is lack of memory")
