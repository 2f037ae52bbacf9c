"""Tensor: an array with a gradient and its manners.

The ops put themselves on Tensor as methods (see ops/methods.py); what is here is what is no op:
attributes, Python's and NumPy's protocols, conversions, the tape's handles.
"""

from __future__ import annotations

import builtins
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorlite import autograd, dtypes, printing
from tensorlite.autograd import Array, Hook, Node, OpError, RemovableHandle, Variable, unwrap, wrap
from tensorlite.autograd.watch import constant
from tensorlite.creation import empty, full, ones, tensor, zeros
from tensorlite.device import check_device, device
from tensorlite.ops import convert, shape
from tensorlite.ops.methods import Methods
from tensorlite.size import Size

CPU = device()
_OLD_NAMES = {"float32": "Float", "float64": "Double", "int64": "Long", "int32": "Int",
              "uint8": "Byte", "bool": "Bool"}  # fmt: skip


class Tensor(Variable, Methods):
    """An array of numbers of one type, on the tape if it, or what it is made of, asks for it.

    Tensor(2, 3) and Tensor(data) are PyTorch's old constructors, in the default dtype; `tensor`,
    `zeros` and the others are the usual way.
    """

    __array_priority__ = 1000  # an array on the left of an operator leaves it to Tensor

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        if len(args) == 1 and not isinstance(args[0], int):
            array = tensor(args[0], dtype=dtypes.get_default_dtype()).array
        else:
            array = np.zeros(args, dtypes.default.numpy)
        t = wrap(array)
        t.__class__ = cls
        return t

    # ----------------------------------------------------------------------------------- what it is

    @property
    def shape(self) -> Size:
        """The lengths of its axes."""
        return Size(self.array.shape)

    def size(self, dim: int | None = None) -> Any:
        """The lengths of its axes, or of one."""
        if dim is None:
            return Size(self.array.shape)
        return self.array.shape[shape.axis_of(dim, self.array.ndim)]

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return self.array.ndim

    def dim(self) -> int:
        """The number of its axes."""
        return self.array.ndim

    def numel(self) -> int:
        """The number of its elements."""
        return self.array.size

    nelement = numel

    @property
    def dtype(self) -> dtypes.dtype:
        """The type of its elements."""
        return dtypes.dtype.of(self.array.dtype)

    @property
    def device(self) -> device:
        """Where it lives: cpu."""
        return CPU

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self.array.itemsize

    def element_size(self) -> int:
        """The bytes of an element."""
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.array.nbytes

    def stride(self, dim: int | None = None) -> Any:
        """How many elements lie between neighbours along each axis, or along one."""
        steps = tuple(step // self.array.itemsize for step in self.array.strides)
        return steps if dim is None else steps[dim]

    def is_contiguous(self) -> builtins.bool:
        """Do its elements lie in order in memory?"""
        return self.array.flags.c_contiguous

    def data_ptr(self) -> int:
        """The address of its first element."""
        return int(self.array.__array_interface__["data"][0])

    def is_floating_point(self) -> builtins.bool:
        """Is its dtype float32 or float64?"""
        return self.array.dtype.kind == "f"

    def is_complex(self) -> builtins.bool:
        """No complex type exists here."""
        return False

    is_cuda = False
    is_sparse = False
    layout = "strided"

    # ------------------------------------------------------------------------------------- the tape

    @property
    def requires_grad(self) -> builtins.bool:
        """Does a gradient flow through it?"""
        if self.base is not None and self.seen != self.version[0]:
            self.refresh()
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, value: builtins.bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: builtins.bool = True) -> Tensor:
        """Ask for a gradient, or no longer."""
        if self.node is not None:
            if not requires_grad:
                raise RuntimeError(
                    "requires_grad_: you can only change requires_grad flags of leaf variables; "
                    "use detach() for a tensor that takes no part in the graph"
                )
        elif requires_grad and self.array.dtype.kind != "f":
            raise RuntimeError(
                "requires_grad_: only Tensors of floating point dtype can require gradients, "
                f"got {self.dtype}"
            )
        else:
            self.tracked = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> builtins.bool:
        """Is it no result of a recorded op?"""
        return self.grad_fn is None

    @property
    def grad_fn(self) -> Node | None:
        """The node that made it."""
        if self.base is not None and self.seen != self.version[0]:
            self.refresh()
        return self.node

    @property
    def _version(self) -> int:
        return int(self.version[0])

    @property
    def data(self) -> Tensor:
        """The same memory off the tape: a change is not noticed. Setting it replaces the memory."""
        return wrap(self.array)  # type: ignore[no-any-return]

    @data.setter
    def data(self, value: Tensor) -> None:
        self.array = value.array
        self.base = None

    def detach(self) -> Tensor:
        """The same memory off the tape; a change in place is noticed."""
        t: Tensor = wrap(self.array)
        t.version = self.version
        return t

    def detach_(self) -> Tensor:
        """Leave the tape."""
        self.node, self.tracked = None, False
        return self

    def backward(
        self,
        gradient: Any = None,
        retain_graph: builtins.bool | None = None,
        create_graph: builtins.bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this scalar to the .grad of every leaf it depends on."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def retain_grad(self) -> None:
        """Keep .grad in a backward though this is no leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: the tensor does not require grad")
        if self.node is not None:
            self.node.retained = weakref.ref(self)

    @property
    def retains_grad(self) -> builtins.bool:
        """Was retain_grad() called?"""
        return self.node is not None and self.node.retained is not None

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(gradient) in a backward; what it returns, unless None, replaces it."""
        if not self.requires_grad:
            raise RuntimeError(
                "register_hook: cannot register a hook on a tensor that doesn't require gradient"
            )
        owner: Any = self.node or self
        if owner.hooks is None:
            owner.hooks = {}
        return RemovableHandle(owner.hooks, hook)

    def refresh(self) -> None:
        """Read this view from its base anew, after the memory they share was changed."""
        if self.seen is None:
            return
        self.seen = self.version[0]
        self.node, self.tracked = None, False
        if self.base is not None and self.base.tracked:
            with autograd.enable_grad():
                self.node = convert.part_of_base(self).node
            self.tracked = True

    # ---------------------------------------------------------------------------------- conversions

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.array.size != 1:
            raise OpError(
                f"item: a Tensor with {self.array.size} elements cannot be converted to Scalar"
            )
        constant("item")
        return self.array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        constant("tolist")
        return self.array.tolist()

    def numpy(self, *, force: builtins.bool = False) -> Array:
        """The array, sharing memory."""
        if self.requires_grad and not force:
            raise RuntimeError(
                "numpy: can't call numpy() on Tensor that requires grad; "
                "use tensor.detach().numpy() instead"
            )
        return self.array

    def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def to(self, *args: Any, **keywords: Any) -> Tensor:
        """In another dtype, or that of another tensor; itself if it fits. The device is cpu."""
        copy = keywords.pop("copy", False)
        keywords.pop("non_blocking", None)
        check_device(keywords.pop("device", None))
        wanted = keywords.pop("dtype", None)
        if keywords:
            raise TypeError(f"to: unexpected arguments {sorted(keywords)}")
        for value in args:
            if isinstance(value, Tensor):
                wanted = value.array.dtype
            elif isinstance(value, (dtypes.dtype, np.dtype, type)):
                wanted = value
            elif not isinstance(value, (builtins.bool, type(None))):
                check_device(value)
        t = self if wanted is None else convert.cast(self, dtypes.to_numpy(wanted))
        return t.clone() if copy and t is self else t

    def type(self, dtype: Any = None) -> Any:
        """In another dtype; or without one, the name of its type."""
        if dtype is None:
            return f"{dtypes.dtype.prefix}.{_OLD_NAMES[self.dtype.name]}Tensor"
        return self.to(dtype)

    def type_as(self, other: Tensor) -> Tensor:
        """In the dtype of another tensor."""
        return self.to(other)

    def float(self) -> Tensor:
        """In float32."""
        return self.to(dtypes.float32)

    def double(self) -> Tensor:
        """In float64."""
        return self.to(dtypes.float64)

    def long(self) -> Tensor:
        """In int64."""
        return self.to(dtypes.int64)

    def int(self) -> Tensor:
        """In int32."""
        return self.to(dtypes.int32)

    def byte(self) -> Tensor:
        """In uint8."""
        return self.to(dtypes.uint8)

    def bool(self) -> Tensor:
        """True where it is not zero."""
        return self.to(dtypes.bool)

    def cpu(self) -> Tensor:
        """Itself: the only device is cpu."""
        return self

    # ------------------------------------------------------------------------------------- in place

    def fill_(self, value: Any) -> Tensor:
        """Write value everywhere."""
        convert.in_place("fill_", convert.fill, self, value)
        return self

    def zero_(self) -> Tensor:
        """Write 0 everywhere."""
        return self.fill_(0)

    def copy_(self, src: Any, non_blocking: builtins.bool = False) -> Tensor:
        """Write the elements of src, broadcast."""
        convert.in_place("copy_", convert.copy, self, src)
        return self

    # ----------------------------------------------------------------------------------- transposes

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise RuntimeError(f"mT: needs at least 2 axes, got shape {tuple(self.shape)}")
        return self.transpose(-1, -2)

    # ----------------------------------------------------------------------------- new ones like it

    def new_tensor(self, data: Any, *, dtype: Any = None, **rest: Any) -> Tensor:
        """A tensor of data, by default in the dtype of this one."""
        return tensor(data, dtype=dtype or self.dtype, **rest)

    def new_zeros(self, *size: Any, dtype: Any = None, **rest: Any) -> Tensor:
        """Zeros, by default in the dtype of this one."""
        return zeros(*size, dtype=dtype or self.dtype, **rest)

    def new_ones(self, *size: Any, dtype: Any = None, **rest: Any) -> Tensor:
        """Ones, by default in the dtype of this one."""
        return ones(*size, dtype=dtype or self.dtype, **rest)

    def new_empty(self, *size: Any, dtype: Any = None, **rest: Any) -> Tensor:
        """Memory as it comes, by default in the dtype of this one."""
        return empty(*size, dtype=dtype or self.dtype, **rest)

    def new_full(self, size: Any, fill_value: Any, *, dtype: Any = None, **rest: Any) -> Tensor:
        """One value everywhere, by default in the dtype of this one."""
        return full(size, fill_value, dtype=dtype or self.dtype, **rest)

    # ------------------------------------------------------------------------------------ protocols

    def __len__(self) -> builtins.int:
        if not self.array.ndim:
            raise TypeError("len() of a 0-d tensor")
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __bool__(self) -> builtins.bool:
        if self.array.size != 1:
            raise RuntimeError(
                f"bool: Boolean value of Tensor with {self.array.size} elements is ambiguous; "
                "use any() or all()"
            )
        constant("bool")
        return builtins.bool(self.array.reshape(())[()])

    def __float__(self) -> builtins.float:
        return builtins.float(self.item())

    def __int__(self) -> builtins.int:
        return builtins.int(self.item())

    def __index__(self) -> builtins.int:
        if self.array.size != 1 or self.array.dtype.kind == "f":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return builtins.int(self.item())

    def __contains__(self, value: Any) -> builtins.bool:
        constant("in")
        return builtins.bool((self.array == unwrap(value)).any())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.array.ndim == 0 else object.__format__(self, spec)

    __hash__ = object.__hash__  # == compares elements; this is one tensor or another

    def __deepcopy__(self, memo: dict[builtins.int, Any]) -> Tensor:
        if self.node is not None:
            raise RuntimeError(
                "deepcopy: only Tensors created explicitly by the user (graph leaves) support the "
                "deepcopy protocol; detach() first"
            )
        if id(self) not in memo:
            constant("deepcopy")
            t = wrap(self.array.copy())
            t.__class__ = type(self)
            t.tracked = self.tracked
            t.__dict__.update(self.__dict__)
            memo[id(self)] = t
            if self.grad is not None:
                t.grad = self.grad.__deepcopy__(memo)
        return memo[id(self)]  # type: ignore[no-any-return]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self.array.copy(), self.tracked)

    def __repr__(self) -> str:
        suffixes = []
        if self.grad_fn is not None:
            suffixes.append(f"grad_fn=<{self.grad_fn.name}>")
        elif self.tracked:
            suffixes.append("requires_grad=True")
        return printing.to_text(self.array, "tensor(", suffixes)


def _rebuild(cls: type[Tensor], array: Array, tracked: builtins.bool) -> Tensor:
    t: Tensor = wrap(array)
    t.__class__ = cls
    t.tracked = tracked
    return t
