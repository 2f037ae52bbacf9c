"""How the functions inside kernels are compiled: for their callers alone.

Numba takes every function all the way to machine code, and then links its LLVM code into its
callers, where it is optimized and translated again; with kernels of functions of functions, most of
what is translated never runs. Here a function stops where its callers can take it over: after the
passes that make it small. A kernel goes all the way. (The very first training step of all, nothing
cached: 20.9 -> 14.7 s, and the kernels run as fast.)
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class Inside(Compiler):
    """A pipeline for numba.njit(pipeline_class=...)."""

    def compile_extra(self, function: Any) -> Any:
        """Compile a function into a library of ours."""
        codegen = self.state.targetctx.codegen()
        self.state.library = _Library(codegen, function.__qualname__)
        return super().compile_extra(function)


class _Library(JITCodeLibrary):
    """LLVM code to be linked; nothing of it has an address."""

    def _optimize_final_module(self) -> None:
        manager, builder = self._codegen._module_pass_manager(
            loop_vectorize=False, slp_vectorize=False, opt=self._codegen._opt_level, cost="cheap"
        )
        manager.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """0: there is none."""
        return 0

    @property
    def codegen(self) -> Any:
        """What made it."""
        return _WithoutEnvironments(self._codegen)


class _WithoutEnvironments:
    """A code generator that is told of no Python environment: it would look for its address."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing to do."""
