"""Matrix products: matmul in all of its ranks, linear, and einsum on top of them.

On floats they run on kernels.matmul, whose bits do not depend on the number of rows, the batch or
the threads; on integers they run on NumPy.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tensorlite.autograd import Array, Node, composed, op
from tensorlite.kernels.matmul import matmul as matmul_kernel, product
from tensorlite.kernels.reduce import column_sum
from tensorlite.ops.elementwise import mul
from tensorlite.ops.index import getitem
from tensorlite.ops.reduce import sum
from tensorlite.ops.shape import permute, reshape, squeeze, unsqueeze

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


# ----------------------------------------------------------------------------------------- matmul


def _matmul_name(node: Node) -> str:
    names = ("Dot", "Mv", "Mm", "Bmm")
    return f"{names[len(node.shape)] if len(node.shape) < 4 else 'UnsafeView'}Backward0"


@op(method=True, grad_name=_matmul_name)
def matmul(x: Array, y: Array) -> Any:
    """x @ y: sums of products over x's last axis and y's last but one, or its only one.

    (..., M, K) @ (..., K, N) -> (..., M, N), the axes in front broadcast; a vector on the left is a
    row, on the right a column, and its axis is dropped from the result: (K) @ (K) -> scalar.
    """
    if x.ndim == y.ndim == 2 and x.shape[1] == y.shape[0] and x.dtype is y.dtype in _FLOATS:
        return product(x, y)  # the usual case, quickly
    if x.ndim == 0 or y.ndim == 0:
        raise RuntimeError(
            f"matmul: both must have at least one axis, got shapes {x.shape} and {y.shape}; use *"
        )
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise RuntimeError(f"matmul: inner sizes differ: {x.shape} @ {y.shape}")
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"matmul: both must have one dtype, got {x.dtype} and {y.dtype}; convert one with .to()"
        )
    left = x[None, :] if x.ndim == 1 else x
    right = y[:, None] if y.ndim == 1 else y
    if left.ndim > 2 and right.ndim > 2:
        _check_batches(x.shape, y.shape)
    z = matmul_kernel(left, right) if x.dtype.kind == "f" else np.matmul(left, right)
    if y.ndim == 1:
        z = z[..., 0]
    if x.ndim == 1:
        z = z[..., 0, :] if y.ndim > 1 else z[..., 0]
    return z


def _check_batches(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    try:
        np.broadcast_shapes(x[:-2], y[:-2])
    except ValueError:
        raise RuntimeError(f"matmul: batch sizes do not broadcast: {x} @ {y}") from None


def _matmul_gx(g: Array, y: Array) -> Array:
    """gx = g @ y.T; that x was a vector shows in g's missing axis."""
    if type(g) is type(y) is np.ndarray and g.ndim == y.ndim == 2:
        return product(g, y.T)  # the usual case, quickly
    if y.ndim == 1:
        return mul(unsqueeze(g, -1), y)
    if g.ndim == y.ndim - 1:
        return squeeze(matmul(y, unsqueeze(g, -1)), -1)
    return matmul(g, y.mT)


def _matmul_gy(g: Array, x: Array, y_shape: tuple[int, ...]) -> Array:
    """gy = x.T @ g, summed over the batch at once where y had none."""
    if type(g) is type(x) is np.ndarray and g.ndim == x.ndim == 2:
        return product(x.T, g)
    if x.ndim == 1:
        return mul(g, x) if len(y_shape) == 1 else mul(unsqueeze(x, -1), unsqueeze(g, -2))
    rows = rows_of(x)
    if len(y_shape) == 1:
        return matmul(rows.mT, reshape(g, (-1,)))
    if len(y_shape) == 2:
        return matmul(rows.mT, rows_of(g))
    return matmul(x.mT, g)


matmul.rules(_matmul_gx, _matmul_gy)


def rows_of(x: Any) -> Any:
    """x as a matrix: (..., N) -> (R, N). A size of -1 would have no meaning beside a 0."""
    return x if x.ndim == 2 else x.reshape(prod(x.shape[:-1]), x.shape[-1])


@composed(method=True)
def mm(x: Array, y: Array) -> Array:
    """x @ y of two matrices: (M, K) @ (K, N) -> (M, N)."""
    _check_ranks("mm", "two matrices", x, 2, y, 2)
    return matmul(x, y)


@composed(method=True)
def bmm(x: Array, y: Array) -> Array:
    """x @ y of two stacks of as many matrices: (B, M, K) @ (B, K, N) -> (B, M, N)."""
    _check_ranks("bmm", "two stacks of matrices", x, 3, y, 3)
    if x.shape[0] != y.shape[0]:
        raise RuntimeError(f"bmm: the stacks differ in length: {(*x.shape,)} and {(*y.shape,)}")
    return matmul(x, y)


@composed(method=True)
def mv(x: Array, y: Array) -> Array:
    """x @ y of a matrix and a vector: (M, K) @ (K) -> (M)."""
    _check_ranks("mv", "a matrix and a vector", x, 2, y, 1)
    return matmul(x, y)


@composed(method=True)
def dot(x: Array, y: Array) -> Array:
    """The sum of the products of two vectors: (K) @ (K) -> scalar."""
    _check_ranks("dot", "two vectors", x, 1, y, 1)
    return matmul(x, y)


@composed(method=True)
def outer(x: Array, y: Array) -> Array:
    """z[i, j] = x[i] y[j]."""
    _check_ranks("outer", "two vectors", x, 1, y, 1)
    return mul(unsqueeze(x, 1), unsqueeze(y, 0))


def _check_ranks(name: str, rule: str, x: Array, x_ndim: int, y: Array, y_ndim: int) -> None:
    if x.ndim != x_ndim or y.ndim != y_ndim:
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise RuntimeError(f"{name}: takes {rule}, got shapes {shapes}; matmul takes any rank")


# ----------------------------------------------------------------------------------------- linear


def _linear_name(node: Node) -> str:
    names = ("Mm", "Addmm") if len(node.shape) == 2 else ("UnsafeView", "View")
    return f"{names[node.parents[2] is not None]}Backward0"


@op(functional=True, grad_name=_linear_name)
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x @ weight.T + bias: (..., K), (N, K), (N) -> (..., N)."""
    check_linear("linear", x, weight, bias)
    if bias is not None:
        bias = np.ascontiguousarray(bias)
    return product(rows_of(x), weight.T, bias).reshape(*x.shape[:-1], weight.shape[0])


@linear.by_kernels
def _(*arrays: Any) -> Any:
    return linear.op.function(*arrays) if in_order(*arrays) else None


def in_order(x: Array, *parameters: Array | None) -> bool:
    """Do products take these as they are? None is empty, x and vectors lie row by row, matrices
    either way."""
    return x.flags.c_contiguous and all(
        p is None or (p.size and (p.flags.c_contiguous or (p.ndim == 2 and p.flags.f_contiguous)))
        for p in (x, *parameters)
    )


def check_linear(name: str, x: Array, weight: Array, bias: Array | None) -> None:
    """Raise unless x (..., K), weight (N, K) and bias (N) or None have one floating dtype."""
    kind = x.dtype
    if (
        weight.ndim == 2 and x.ndim > 0 and x.shape[-1] == weight.shape[1]
        and kind is weight.dtype and kind.kind == "f"
        and (bias is None or (bias.shape == weight.shape[:1] and bias.dtype is kind))
    ):  # fmt: skip
        return  # the rule; what follows says what breaks it
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise RuntimeError(
            f"{name}: the input's last size must be the weight's second: {x.shape}, {weight.shape}"
        )
    n = weight.shape[0]
    if bias is not None and bias.shape != (n,):
        raise RuntimeError(f"{name}: the bias must have shape ({n},), got {bias.shape}")
    kinds = {array.dtype for array in (x, weight, bias) if array is not None}
    if len(kinds) > 1 or x.dtype.kind != "f":
        raise RuntimeError(
            f"{name}: all must have one floating dtype, got {', '.join(sorted(map(str, kinds)))}"
        )


def _linear_gweight(g: Array, x: Array) -> Array:
    rows = rows_of(g)
    return matmul(rows.mT, rows_of(x))


def _linear_gbias(g: Array) -> Array:
    rows = rows_of(g)
    return column_sum(rows) if isinstance(rows, np.ndarray) else sum(rows, 0)


linear.rules(lambda g, weight: matmul(g, weight), _linear_gweight, _linear_gbias)


def linear_gradients(g: Any, x: Any, weight: Any, needs: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias that are needed, for an op that contains a linear."""
    return (
        matmul(g, weight) if needs[0] else None,
        _linear_gweight(g, x) if needs[1] else None,
        _linear_gbias(g) if needs[2] else None,
    )


# ----------------------------------------------------------------------------------------- einsum


@composed()
def einsum(equation: str, *operands: Any) -> Any:
    """Sums of products by Einstein's convention, as numpy.einsum writes them.

    "bik,bkj->bij": each letter names an axis; those missing on the right are summed over. Without
    an arrow the letters that occur once remain, in alphabetical order. "..." stands for the axes
    that are not named, and broadcasts. A letter twice in one operand takes the diagonal. The
    operands are contracted in pairs from left to right, each pair as one (batched) matmul.
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    inputs, output = _parse(equation, operands)
    terms = [_diagonal(x, labels) for x, labels in zip(operands, inputs, strict=True)]
    x, labels = terms[0]
    for i, (y, right) in enumerate(terms[1:], 2):
        later = {*output, *(label for _, names in terms[i:] for label in names)}
        x, labels = _contract(x, labels, y, right, later)
    x, labels = _sum_out(x, labels, set(output))
    return permute(x, tuple(labels.index(label) for label in output))


def _parse(equation: str, operands: tuple[Any, ...]) -> tuple[list[list[str]], list[str]]:
    """One list of labels per operand and one for the output; "..." becomes labels of its own."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise RuntimeError(f"einsum: '{equation}' names {len(parts)} operands, got {len(operands)}")
    most = max(
        (x.ndim - len(part) + 3 for x, part in zip(operands, parts, strict=True) if "..." in part),
        default=0,
    )
    hidden = [f"...{i}" for i in range(most)]
    inputs = []
    for x, part in zip(operands, parts, strict=True):
        before, dots, after = part.partition("...")
        missing = x.ndim - len(before) - len(after)
        if missing < 0 or (missing and not dots):
            raise RuntimeError(
                f"einsum: '{part}' must name the axes of its operand, which has shape "
                f"{tuple(x.shape)}"
            )
        inputs.append([*before, *hidden[most - missing :], *after])
    named = [label for labels in inputs for label in labels]
    if arrow:
        before, dots, after = right.partition("...")
        output = [*before, *(hidden if dots else []), *after]
    else:
        once = sorted(n for n in set(named) if named.count(n) == 1 and n not in hidden)
        output = [*hidden, *once]
    wrong = [label for label in output if label not in named or output.count(label) > 1]
    if wrong:
        raise RuntimeError(
            f"einsum: each letter of the output must occur once and in an input: "
            f"'{equation}' has '{wrong[0]}'"
        )
    return inputs, output


def _diagonal(x: Any, labels: list[str]) -> tuple[Any, list[str]]:
    """Take the diagonal over axes with the same label."""
    for label in dict.fromkeys(labels):
        axes = [i for i, other in enumerate(labels) if other == label]
        if len(axes) > 1:
            sizes = {x.shape[i] for i in axes}
            if len(sizes) > 1:
                raise RuntimeError(f"einsum: '{label}' has the sizes {sorted(sizes)} at once")
            rest = [i for i in range(len(labels)) if i not in axes]
            x = permute(x, (*axes, *rest))
            along = np.arange(sizes.pop())
            x = getitem(x, tuple(along for _ in axes))
            labels = [label, *(labels[i] for i in rest)]
    return x, labels


def _sum_out(x: Any, labels: list[str], keep: set[str]) -> tuple[Any, list[str]]:
    """Sum over the axes that nobody needs."""
    gone = tuple(i for i, label in enumerate(labels) if label not in keep)
    return (sum(x, gone) if gone else x), [label for label in labels if label in keep]


def _unstretched(x: Any, labels: list[str], size: dict[str, int]) -> tuple[Any, list[str]]:
    """Drop the axes of size 1 that broadcast: the other operand carries their label."""
    gone = tuple(i for i, label in enumerate(labels) if x.shape[i] != size[label])
    return (sum(x, gone) if gone else x), [n for i, n in enumerate(labels) if i not in gone]


def _contract(
    x: Any, left: list[str], y: Any, right: list[str], later: set[str]
) -> tuple[Any, list[str]]:
    """The product of two operands, summed over the labels that both have and nobody needs later."""
    x, left = _sum_out(x, left, later | set(right))
    y, right = _sum_out(y, right, later | set(left))
    size: dict[str, int] = {}
    for labels, operand in ((left, x), (right, y)):
        for label, n in zip(labels, operand.shape, strict=True):
            known = size.setdefault(label, n)
            if known == 1:
                size[label] = n
            elif n not in (1, known):
                raise RuntimeError(f"einsum: '{label}' has the sizes {known} and {n} at once")
    x, left = _unstretched(x, left, size)
    y, right = _unstretched(y, right, size)
    shared = [label for label in left if label in right]
    batch = [label for label in shared if label in later]
    inner = [label for label in shared if label not in later]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]

    def matrix(z: Any, labels: list[str], groups: tuple[list[str], list[str]]) -> Any:
        order = [*batch, *groups[0], *groups[1]]
        z = permute(z, tuple(labels.index(label) for label in order))
        sizes = [prod(size[label] for label in group) for group in (batch, *groups)]
        return reshape(z, tuple(sizes))

    z = matmul(matrix(x, left, (rows, inner)), matrix(y, right, (inner, columns)))
    result = [*batch, *rows, *columns]
    return reshape(z, tuple(size[label] for label in result)), result
