"""One row per op; what a row is made of is said in row.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases_fused import FUSED

from cases_neural import NEURAL
from row import Ids, Mask, OneOf, Real, Row, Shape


def _scatter(x: Any, src: Any, dim: int, index: Any, add: bool = False) -> Any:
    y = x.copy()
    for at in np.ndindex(index.shape):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        y[to] = y[to] + src[at] if add else src[at]
    return y


def _index_add(x: Any, dim: int, index: Any, source: Any, alpha: float) -> Any:
    y = np.moveaxis(x.copy(), dim, 0)
    for i, row in zip(index, np.moveaxis(source, dim, 0), strict=True):
        y[i] += alpha * row
    return np.moveaxis(y, 0, dim)


def _put(x: Any, shape: Any, index: Any) -> Any:
    y = np.zeros(shape, x.dtype)
    np.add.at(y, index, x)
    return y


POSITIVE = Real(low=0.1, high=3.0)
STEPS = Real(away=np.arange(-4, 4.5, 0.5))  # no number near a whole or a half one

ELEMENTWISE = [
    Row("plus", [Real(), Real()], np.add),
    Row("minus", [Real(), Real()], np.subtract),
    Row("add", [Real(), Real()], lambda x, y, a: x + a * y, {"alpha": OneOf(1, -2, 0.5)}),
    Row("sub", [Real(), Real()], lambda x, y, a: x - a * y, {"alpha": OneOf(1, -2, 0.5)}),
    Row("rsub", [Real(), Real()], lambda x, y: y - x),
    Row("mul", [Real(), Real()], np.multiply),
    Row("mul", [Real(), 2.5], np.multiply),
    Row("true_divide", [Real(), POSITIVE], np.divide),
    Row("floor_divide", [Real(), POSITIVE], np.floor_divide),
    Row("_trunc_divide", [Real(), POSITIVE], lambda x, y: np.trunc(x / y)),
    Row("remainder", [Real(low=2.1, high=2.4), Real(low=1.1, high=1.9)], np.remainder),
    Row("fmod", [Real(low=-2.4, high=-2.1), Real(low=1.1, high=1.9)], np.fmod),
    Row("neg", [Real()], np.negative),
    Row("abs", [Real(away=[0])], np.abs),
    Row("sign", [Real(away=[0])], np.sign),
    Row("zero", [Real()], np.zeros_like),
    Row("zero_where", [Mask(), Real()], lambda c, x: np.where(c, 0, x)),
    Row("pow", [POSITIVE, Real()], np.power),
    Row("pow", [Real(away=[0]), OneOf(0, 1, 2, 3, -1, 2.0)], lambda x, y: x**y),
    Row("pow", [OneOf(0.7, 2), Real()], np.power),
    Row("square", [Real()], np.square),
    Row("sqrt", [POSITIVE], np.sqrt),
    Row("rsqrt", [POSITIVE], lambda x: 1 / np.sqrt(x)),
    Row("reciprocal", [POSITIVE], np.reciprocal),
    Row("exp", [Real()], np.exp),
    Row("exp2", [Real()], np.exp2),
    Row("expm1", [Real()], np.expm1),
    Row("log", [POSITIVE], np.log, tol=1e-4),
    Row("log2", [POSITIVE], np.log2, tol=1e-4),
    Row("log10", [POSITIVE], np.log10, tol=1e-4),
    Row("log1p", [POSITIVE], np.log1p),
    Row("sin", [Real()], np.sin),
    Row("cos", [Real()], np.cos, tol=1e-4),
    Row("tan", [Real(low=-1, high=1)], np.tan),
    Row("asin", [Real(low=-0.9, high=0.9)], np.arcsin),
    Row("acos", [Real(low=-0.9, high=0.9)], np.arccos),
    Row("atan", [Real()], np.arctan),
    Row("atan2", [Real(), POSITIVE], np.arctan2),
    Row("sinh", [Real()], np.sinh),
    Row("cosh", [Real()], np.cosh),
    Row("floor", [STEPS], np.floor),
    Row("ceil", [STEPS], np.ceil),
    Row("trunc", [STEPS], np.trunc),
    Row("round", [STEPS], np.round),
]

COMPARE = [
    *(
        Row(name, [Real(), Real()], reference)
        for name, reference in {
            "eq": np.equal,
            "ne": np.not_equal,
            "lt": np.less,
            "le": np.less_equal,
            "gt": np.greater,
            "ge": np.greater_equal,
            "isclose": np.isclose,
        }.items()
    ),
    Row("isnan", [Real()], np.isnan),
    Row("isinf", [Real()], np.isinf),
    Row("isfinite", [Real()], np.isfinite),
    Row("logical_and", [Mask(), Mask()], np.logical_and),
    Row("logical_or", [Mask(), Mask()], np.logical_or),
    Row("logical_xor", [Mask(), Mask()], np.logical_xor),
    Row("logical_not", [Mask()], np.logical_not),
    Row("bitwise_and", [Ids(), Ids()], np.bitwise_and),
    Row("bitwise_or", [Ids(), Ids()], np.bitwise_or),
    Row("bitwise_xor", [Ids(), Ids()], np.bitwise_xor),
    Row("bitwise_not", [Ids()], np.bitwise_not),
    Row("choose", [Mask(), Real(), Real()], np.where),
    Row("masked_fill", [Real(), Mask(), OneOf(-1.5, 2)], lambda x, m, v: np.where(m, v, x)),
    Row("maximum", [Real("A B", distinct=True), 0.03], np.maximum),
    Row("maximum", [Real(low=0), Real(high=-0.1)], np.maximum),
    Row("minimum", [Real("A B", distinct=True), 0.03], np.minimum),
    Row("minimum", [Real(low=0), Real(high=-0.1)], np.minimum),
    Row("clamp", [Real(away=[-1, 1]), -1, 1], lambda x, a, b: np.clip(x, a, b)),
    Row("clamp", [Real(away=[-1]), -1.0], lambda x, a: np.maximum(x, a)),
    Row(
        "clamp",
        [Real(away=[-1, 1]), Real(low=-1.02, high=-0.98), Real(low=0.98, high=1.02)],
        np.clip,
    ),
    Row("nan_to_num", [Real()], np.nan_to_num),
]

REDUCE = [
    *(
        Row(
            name,
            [Real("a b c", distinct=distinct)],
            reference,
            {"dim": OneOf(None, 0, -1, (0, 2)), "keepdim": OneOf(False, True)},
        )
        for name, distinct, reference in [
            ("sum", False, lambda x, dim, keepdim: x.sum(dim, keepdims=keepdim)),
            ("mean", False, lambda x, dim, keepdim: x.mean(dim, keepdims=keepdim)),
            ("amax", True, lambda x, dim, keepdim: x.max(dim, keepdims=keepdim)),
            ("amin", True, lambda x, dim, keepdim: x.min(dim, keepdims=keepdim)),
            ("any", False, lambda x, dim, keepdim: x.any(dim, keepdims=keepdim)),
            ("all", False, lambda x, dim, keepdim: x.all(dim, keepdims=keepdim)),
        ]
    ),
    Row("sum", [Real("A B")], lambda x, dim: x.sum(dim), {"dim": OneOf(None, 0, 1)}),
    Row(
        "_norm",
        [Real("a b", low=0.2)],
        lambda x, dim: np.sqrt((x * x).sum(dim)),
        {"dim": OneOf(None, 0, 1)},
    ),
    Row(
        "spread",
        [Real("a c")],
        lambda x, shape, axes: np.broadcast_to(x[:, None], shape),
        {"shape": Shape("a b c"), "axes": (1,)},
    ),
    Row(
        "var",
        [Real("a b")],
        lambda x, dim, correction, keepdim: x.var(dim, ddof=correction, keepdims=keepdim),
        {"dim": OneOf(None, 1, (0, 1)), "correction": 0, "keepdim": OneOf(False, True)},
        tol=1e-4,
    ),
    Row("_root", [POSITIVE], np.sqrt),
    Row("prod", [Real("a b")], lambda x, dim: x.prod(dim), {"dim": OneOf(None, 0, -1)}),
    Row("cumsum", [Real("A B")], lambda x, dim: x.cumsum(dim), {"dim": OneOf(0, -1)}, tol=1e-4),
    Row("cumprod", [Real("a b")], lambda x, dim: x.cumprod(dim), {"dim": OneOf(0, -1)}),
    Row(
        "logsumexp",
        [Real("a b")],
        lambda x, dim, keepdim: np.log(np.exp(x).sum(dim, keepdims=keepdim)),
        {"dim": OneOf(0, -1, (0, 1)), "keepdim": OneOf(False, True)},
        tol=1e-4,
    ),
    Row("argmax", [Real("a b")], lambda x, dim: x.argmax(dim), {"dim": OneOf(None, 0, 1)}),
    Row("argmin", [Real("a b")], lambda x, dim: x.argmin(dim), {"dim": OneOf(None, 0, 1)}),
    Row("count_nonzero", [Real("A B")], np.count_nonzero),
]

SHAPES = [
    Row("reshape", [Real("A b C")], np.reshape, {"shape": Shape("C A b")}),
    Row("view", [Real("A b C")], lambda x, size: x.reshape(size), {"size": Shape("A 1 b C")}),
    Row("squeeze", [Real("A 1 B")], lambda x, _: x.squeeze(1), {"dim": OneOf(1, -2)}),
    Row("unsqueeze", [Real("A B")], np.expand_dims, {"dim": OneOf(0, 1, 2, -1)}),
    Row(
        "transpose",
        [Real("A B C")],
        np.swapaxes,
        {"dim0": OneOf(0, -1), "dim1": OneOf(1, 2)},
    ),
    Row("permute", [Real("A B C")], np.transpose, {"dims": OneOf((2, 0, 1), (0, -1, 1))}),
    Row("flip", [Real("A B")], np.flip, {"dims": OneOf(0, (0, 1))}),
    Row("roll", [Real("A B")], np.roll, {"shifts": OneOf(1, -2), "dims": OneOf(0, 1, None)}),
    Row("roll", [Real("A B")], np.roll, {"shifts": (1, -2), "dims": (0, 1)}),
    Row(
        "expand",
        [Real("1 B")],
        lambda x, size: np.broadcast_to(x, size),
        {"size": Shape("A C B")},
    ),
    Row("repeat", [Real("A B")], np.tile, {"repeats": OneOf((2, 1), (3, 1, 2), (0, 1))}),
    Row(
        "cat",
        [Real("A B"), Real("A C"), Real("A B")],
        lambda x, y, z, dim: np.concatenate([x, y, z], dim),
        {"dim": OneOf(1, -1)},
    ),
    Row(
        "stack",
        [Real("A B"), Real("A B")],
        lambda x, y, dim: np.stack([x, y], dim),
        {"dim": OneOf(0, 1, -1)},
    ),
    Row(
        "narrow",
        [Real("A 5")],
        lambda x, dim, start, length: x[:, 1:4],
        {"dim": 1, "start": 1, "length": 3},
    ),
    Row(
        "split",
        [Real("5 A")],
        lambda x, *_: (x[:2], x[2:4], x[4:]),
        {"split_size_or_sections": OneOf(2, [2, 2, 1])},
    ),
    Row("unbind", [Real("A 3")], lambda x, dim: tuple(x.T), {"dim": 1}),
    Row(
        "_pad",
        [Real("A 3")],
        lambda x, _, value: np.pad(x, ((0, 0), (2, 1)), constant_values=value),
        {"widths": ((0, 0), (2, 1)), "value": 1.5},
    ),
    Row("_pad", [Real("A 3")], lambda x, widths: x[:, 1:], {"widths": ((0, 0), (-1, 0))}),
    Row("tril", [Real("2 A B")], np.tril, {"diagonal": OneOf(0, 1, -1)}),
    Row("triu", [Real("2 A B")], np.triu, {"diagonal": OneOf(0, 1, -1)}),
    Row("diagonal", [Real("a b")], np.diagonal, {"offset": 0}),
    Row(
        "on_diagonal",
        [Real("a")],
        lambda x, *_: np.diag(x),
        {"shape": Shape("a a"), "offset": 0, "dim1": 0, "dim2": 1},
    ),
]

INDEX = [
    Row("select", [Real("3 A")], lambda x, index: x[index], {"index": OneOf((1, ...), (-1, ...))}),
    Row(
        "slice_at",
        [Real("4 A")],
        lambda x, index: x[index],
        {"index": OneOf((slice(1, 3), ...), (slice(None, None, 2), None, ...))},
    ),
    Row("placed", [Real("2 A")], _put, {"shape": Shape("4 A"), "index": (slice(1, 3), ...)}),
    Row(
        "take_at",
        [Real("3 2")],
        lambda x, index: x[index],
        {"index": OneOf((np.array([0, 2, 0]),), (np.array([True, False, True]),))},
    ),
    Row("added_at", [Real("3 A")], _put, {"shape": Shape("4 A"), "index": (np.array([1, 0, 1]),)}),
    Row(
        "written",
        [Real("3 A"), Real("2 A")],
        lambda x, value, index: np.stack([value[0], x[1], value[1]]),
        {"index": ((), (np.array([0, 2]),))},
    ),
    Row(
        "index_select",
        [Real("b C")],
        lambda x, dim, index: x[index],
        {"dim": 0, "index": Ids("A", below="b")},
    ),
    Row(
        "index_add",
        [Real("C b"), 1, Ids("A", below="b"), Real("C A")],
        _index_add,
        {"alpha": OneOf(1, 2.5)},
    ),
    Row(
        "index_copy",
        [Real("3 A"), 0, np.array([2, 0]), Real("2 A")],
        lambda x, dim, index, source: np.stack([source[1], x[1], source[0]]),
    ),
    Row(
        "index_fill",
        [Real("3 A"), 0, np.array([2, 0]), 1.5],
        lambda x, *_: np.stack([x[0] * 0 + 1.5, x[1], x[2] * 0 + 1.5]),
    ),
    Row(
        "gather",
        [Real("A b")],
        lambda x, dim, index: np.take_along_axis(x, index, 1),
        {"dim": OneOf(1, -1), "index": Ids("A C", below="b")},
    ),
    Row(
        "added_along",
        [Real("A C")],
        lambda x, shape, dim, index: _scatter(np.zeros(shape, x.dtype), x, dim, index, add=True),
        {"shape": Shape("b C"), "dim": 0, "index": Ids("A C", below="b")},
    ),
    Row(
        "scatter_at",
        [Real("2 5"), Real("2 3")],
        _scatter,
        {"dim": 1, "index": np.array([[0, 2, 4], [1, 3, 0]])},
    ),
    Row(
        "scatter_add_at",
        [Real("b C"), Real("A C")],
        lambda x, src, dim, index: _scatter(x, src, dim, index, add=True),
        {"dim": 0, "index": Ids("A C", below="b")},
    ),
]

ORDER = [
    Row(
        "picked",
        [Real("A b")],
        lambda x, dim, indices, kind, keepdim: np.take_along_axis(x, indices, 1),
        {"dim": 1, "indices": Ids("A C", below="b"), "kind": "sort", "keepdim": True},
    ),
    Row(
        "picked",
        [Real("A b")],
        lambda x, dim, indices, kind, keepdim: np.take_along_axis(x, indices, 1)[:, 0],
        {"dim": 1, "indices": Ids("A 1", below="b"), "kind": "max", "keepdim": False},
    ),
    Row("argsort", [Real("A B")], np.argsort, {"dim": OneOf(0, -1)}),
    Row(
        "_top",
        [Real("A 4", distinct=True)],
        lambda x, *_: np.argsort(-x, 1)[:, :2],
        {"k": 2, "dim": 1, "largest": True},
    ),
    Row("bincount", [Ids("A")], np.bincount),
    Row("searchsorted", [np.arange(5.0), Real()], np.searchsorted, only=[np.float64]),
]

CONVERT = [
    Row("clone", [Real()], np.copy),
    Row("contiguous", [Real()], np.copy),
    Row("cast", [Real()], lambda x, numpy: x.astype(numpy), {"numpy": np.dtype(np.float64)}),
    Row("averaged", [Real()], lambda x, n, _: x / n, {"count": 3.0, "kind": "NllLoss"}),
    Row("fill", [Real(), 2.5], lambda x, value: np.full_like(x, value)),
    Row("copy", [Real("A B"), Real("B")], lambda x, src: np.broadcast_to(src, x.shape)),
    Row(
        "_same_memory",
        [Real("3"), Real("2")],
        lambda x, value, positions: x,
        {"positions": np.array([0, 2])},
        slope=False,
        twice=False,
    ),
]

LINALG = [
    Row("matmul", [Real("A b"), Real("b C")], np.matmul),
    Row("matmul", [Real("2 A b"), Real("b C")], np.matmul),
    Row("matmul", [Real("2 1 A b"), Real("3 b C")], np.matmul),
    Row("matmul", [Real("b"), Real("b C")], np.matmul),
    Row("matmul", [Real("A b"), Real("b")], np.matmul),
    Row("linear", [Real("A b"), Real("C b")], lambda x, w: x @ w.T),
    Row("linear", [Real("2 A b"), Real("C b"), Real("C")], lambda x, w, b: x @ w.T + b),
]

ROWS = [
    *ELEMENTWISE,
    *COMPARE,
    *REDUCE,
    *SHAPES,
    *INDEX,
    *ORDER,
    *CONVERT,
    *LINALG,
    *NEURAL,
    *FUSED,
]
