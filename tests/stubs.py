"""Write the stubs that editors and type checkers read, from the registry of the ops.

    python tests/stubs.py

The ops put themselves on Tensor, in tensorlite and in nn.functional when they are imported, which
no static tool can follow. test_stubs.py fails while a stub is out of date.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorlite
from tensorlite.autograd import IN_PLACE, METHODS
from tensorlite.nn import functional
from tensorlite.ops import methods

ROOT = Path(tensorlite.__file__).parent

HEAD = '''"""{title}. Written by tests/stubs.py; do not edit."""

import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensorlite.generator import Generator as Generator
from tensorlite.ops.order import ValuesAndIndices
from tensorlite.tensor import Tensor as Tensor

Dim = builtins.int | Sequence[builtins.int] | None
Sizes = Sequence[builtins.int]
Number = Tensor | builtins.float

'''


def annotation(text: Any, tensor: str = "Tensor") -> str:
    """A type as callers see it: a tensor where the op sees an array."""
    if text is inspect.Parameter.empty:
        return "Any"
    text = text if isinstance(text, str) else getattr(text, "__name__", "Any")
    text = re.sub(r"\b(int|float|bool)\b", r"builtins.\1", text)
    return re.sub(r"\bArray\b", tensor, text)


def signature(function: Callable[..., Any], method: bool) -> tuple[str, str]:
    """The parameters of a function, an op's options without names too, and its result."""
    op = getattr(function, "op", None)
    read = inspect.signature(function)
    written = []
    for i, p in enumerate(read.parameters.values()):
        if p.name == "needs":
            continue
        if i == 0 and method:
            written.append("self")
        elif p.kind is p.VAR_POSITIONAL and op is not None:
            written.append(f"{p.name}: Sequence[Tensor]")
        else:
            if p.kind is p.KEYWORD_ONLY and op is None and not any(w[0] == "*" for w in written):
                written.append("*")
            stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
            # Beside the first argument a number will do.
            text = f"{stars}{p.name}: {annotation(p.annotation, 'Number' if i else 'Tensor')}"
            written.append(text if p.default is p.empty else f"{text} = ...")
    if op is not None and op.sizes:
        written = [written[0], f"*{op.options[0]}: Any"]
    return ", ".join(written), annotation(read.return_annotation)


def definition(name: str, function: Callable[..., Any], method: bool = False) -> str:
    parameters, result = signature(function, method)
    doc = (inspect.getdoc(function) or "").partition("\n")[0].replace("\\", "\\\\")
    return f'def {name}({parameters}) -> {result}:\n    """{doc}"""\n'


def tensor_methods() -> str:
    """Class Methods: what the ops put on Tensor."""
    body = [definition(name, function, True) for name, function in sorted(METHODS.items())]
    for name, function in sorted(IN_PLACE.items()):
        parameters, _ = signature(function, True)
        body.append(f'def {name}({parameters}) -> Tensor:\n    """{name[:-1]}, in place."""\n')
    for name in methods.OPERATORS:
        parameters = {
            "__neg__": "",
            "__abs__": "",
            "__invert__": "",
            "__getitem__": ", index: Any",
            "__setitem__": ", index: Any, value: Any",
        }.get(name, ", other: Any")
        result = "None" if name == "__setitem__" else "Tensor"
        ignored = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
        body.append(f"def {name}(self{parameters}) -> {result}: ...{ignored}\n")
    indented = re.sub(r"^(?=.)", "    ", "".join(body), flags=re.MULTILINE)
    tables = "OPERATORS: dict[str, Callable[..., Any]]\n\n"
    return (
        HEAD.format(title="The methods that ops put on Tensor")
        + tables
        + f"class Methods:\n{indented}"
    )


def functions_of(module: types.ModuleType) -> str:
    """The functions of a module that come from ops, or are its own, in full."""
    found = []
    for name, value in sorted(vars(module).items()):
        home = getattr(value, "__module__", None) or ""
        ours = home.startswith("tensorlite.ops") or home == module.__name__
        if ours and inspect.isfunction(value) and not name.startswith("_"):
            found.append(definition(name, value))
    return "".join(found)


def other_names_of(module: types.ModuleType) -> str:
    """The other names of a module, where they come from."""
    lines = []
    for node in ast.parse(Path(str(module.__file__)).read_text()).body:
        if isinstance(node, ast.ImportFrom):
            kept = [a for a in node.names if a.asname and not _is_op(getattr(module, a.asname))]
            lines += [f"from {node.module} import {a.name} as {a.asname}\n" for a in kept]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = getattr(module, node.targets[0].id)
            kind = (
                "dtype" if type(value).__name__ == "dtype" else f"builtins.{type(value).__name__}"
            )
            lines.append(f"{node.targets[0].id}: {kind}\n")
    return "".join(lines)


def _is_op(value: Any) -> bool:
    return inspect.isfunction(value) and value.__module__.startswith("tensorlite.ops")


def stubs() -> dict[Path, str]:
    """Every stub by its path."""
    package = HEAD.format(title="The public names") + other_names_of(tensorlite) + "\n"
    return {
        ROOT / "ops" / "methods.pyi": tensor_methods(),
        ROOT / "nn" / "functional.pyi": HEAD.format(title="nn.functional")
        + functions_of(functional),
        ROOT / "__init__.pyi": package + functions_of(tensorlite),
    }


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text)
