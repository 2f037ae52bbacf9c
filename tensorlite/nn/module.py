"""Module and Parameter: how a model is put together, named, saved and loaded, as in PyTorch."""

from __future__ import annotations

import difflib
import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple, Self

from tensorlite.autograd import RemovableHandle, no_grad, watch
from tensorlite.dtypes import dtype, float32, float64
from tensorlite.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module trains: assigned to an attribute, it is found by parameters()."""

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        parameter = (Tensor(0) if data is None else data).detach()
        parameter.__class__ = cls
        return parameter.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Keys(NamedTuple):
    """What load_state_dict(strict=False) passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Registry(dict[str, Any]):
    """Parameters, buffers or modules by name. Each is an attribute of its module at the same time,
    whoever writes it: to find one through __getattr__ takes ten times as long as that."""

    __slots__ = ("_module",)

    def __init__(self, module: Module, items: Mapping[str, Any] | None = None) -> None:
        self._module = weakref.ref(module)
        self.update(items or {})

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        module = self._module()
        if module is not None and not hasattr(type(module), name):
            module.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        module = self._module()
        if module is not None:
            module.__dict__.pop(name, None)

    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    clear = MutableMapping.clear
    update = MutableMapping.update
    setdefault = MutableMapping.setdefault

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        """A copy belongs to nobody; Module.__setstate__ gives it a module."""
        return dict, (dict(self),)


_REGISTRIES = ("_parameters", "_buffers", "_modules")


class Module:
    """The base of all layers and models.

    A subclass calls super().__init__(), assigns parameters and other modules as attributes, and
    defines forward(). Assignment is what registers them; a parameter assigned in two places is
    shared: parameters() yields it once, state_dict() names it twice.
    """

    training: bool

    def __init__(self) -> None:
        set_plain = object.__setattr__
        for kind in _REGISTRIES:
            set_plain(self, kind, Registry(self))
        set_plain(self, "_transient", set())  # buffers that are not saved
        set_plain(self, "_forward_hooks", {})
        set_plain(self, "_forward_pre_hooks", {})
        set_plain(self, "training", True)

    # ------------------------------------------------------------------------------------- running

    def forward(self, *args: Any, **keywords: Any) -> Any:
        """What the module computes; a subclass says."""
        raise NotImplementedError(
            f"{type(self).__name__}: has no forward(); define it, it says what the module computes"
        )

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not (self._forward_pre_hooks or self._forward_hooks):
            return self.forward(*args, **keywords)
        watch.constant("forward hook")
        for before in tuple(self._forward_pre_hooks.values()):
            changed = before(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **keywords)
        for after in tuple(self._forward_hooks.values()):
            changed = after(self, args, result)
            if changed is not None:
                result = changed
        return result

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, args, result) after forward; what it returns replaces the result."""
        return RemovableHandle(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(module, args) before forward; what it returns replaces the arguments."""
        return RemovableHandle(self._forward_pre_hooks, hook)

    # ---------------------------------------------------------------------------------- attributes

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """As a copy or from a pickle."""
        self.__dict__.update(state)
        for kind in _REGISTRIES:
            if kind in state:
                self.__dict__[kind] = Registry(self, state[kind])

    def __setattr__(self, name: str, value: Any) -> None:
        registries = self.__dict__
        if "_parameters" not in registries:
            if isinstance(value, Parameter | Module):
                raise AttributeError(
                    f"{type(self).__name__}: cannot assign {name} before super().__init__(); "
                    "call it first in __init__"
                )
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter):
            self._forget(name)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name)
            self._modules[name] = value
        elif name in self._parameters:
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}: {name} is a parameter and takes a Parameter or None, "
                    f"got {type(value).__name__}; wrap it in nn.Parameter"
                )
            self._parameters[name] = None
        elif name in self._buffers and (value is None or isinstance(value, Tensor)):
            self._buffers[name] = value
        elif name in self._modules and value is None:
            self._modules[name] = None
        elif name in _REGISTRIES:
            object.__setattr__(self, name, Registry(self, value))
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__
        for kind in _REGISTRIES:  # what a class attribute keeps from being one of the instance
            if kind in found and name in found[kind]:
                return found[kind][name]
        near = difflib.get_close_matches(name, dir(self), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'{hint}")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def _forget(self, name: str) -> bool:
        """Take a name out of every registry, before it moves to another."""
        self.__dict__.pop(name, None)
        self._transient.discard(name)
        found = [r for r in (self._parameters, self._buffers, self._modules) if name in r]
        for registry in found:
            del registry[name]
        return bool(found)

    def __dir__(self) -> list[str]:
        registered = [name for kind in _REGISTRIES for name in self.__dict__.get(kind, {})]
        return list({*super().__dir__(), *registered})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Assign a parameter by name; None keeps the name, as a layer without bias does."""
        self._check_name("register_parameter", name)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Assign a tensor that is saved with the module but not trained; or not saved either."""
        self._check_name("register_buffer", name)
        self._buffers[name] = tensor
        if not persistent:
            self._transient.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Assign a module by name."""
        self._check_name("register_module", name)
        self._modules[name] = module

    add_module = register_module

    def _check_name(self, caller: str, name: str) -> None:
        if "." in name or not name:
            raise KeyError(f"{caller}: a name must not be empty or contain a dot, got '{name}'")
        taken = name in self._parameters or name in self._buffers or name in self._modules
        if not taken and hasattr(type(self), name):
            raise KeyError(f"{caller}: '{name}' is an attribute of {type(self).__name__} already")
        self._forget(name)

    # ----------------------------------------------------------------------------------- inventory

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules right below this one, each once."""
        return (module for _, module in self.named_children())

    def _named(
        self, kind: str, prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        owners = self.named_modules(prefix=prefix, remove_duplicate=once)
        for path, module in owners if recurse else [(prefix, self)]:
            for name, tensor in getattr(module, kind).items():
                if tensor is None or (once and id(tensor) in seen):
                    continue
                seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """What is trained, with dotted names; a shared parameter once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """What is trained; a shared parameter once."""
        return self._each("_parameters", recurse)

    def _each(self, kind: str, recurse: bool) -> Iterator[Any]:
        """As `_named`, each once, without the names, which take three quarters of the time."""
        seen: set[int] = set()
        left: list[Module] = [self]
        while left:
            module = left.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            for tensor in getattr(module, kind).values():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield tensor
            if recurse:
                left += [m for m in reversed(module._modules.values()) if m is not None]

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers, with dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        return self._each("_buffers", recurse)

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name."""
        module: Module = self
        for name in target.split(".") if target else ():
            module = getattr(module, name)
        return module

    # ---------------------------------------------------------------------------------- saved state

    def state_dict(self, *, prefix: str = "") -> OrderedDict[str, Tensor]:
        """All parameters and saved buffers by dotted name, detached, sharing memory."""
        state: OrderedDict[str, Tensor] = OrderedDict()
        for name, tensor in self._saved(prefix):
            state[name] = tensor.detach()
        return state

    def _saved(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield prefix + name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._transient:
                yield prefix + name, buffer
        for name, module in self._modules.items():
            if module is not None:
                yield from module._saved(f"{prefix}{name}.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Keys:
        """Copy values in by name. Shapes must agree; with strict, so must the names.

        RuntimeError lists all that is missing, unexpected or of a wrong shape; nothing is copied.
        """
        own = dict(self._saved())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        shapes = {name: tuple(getattr(value, "shape", ())) for name, value in state_dict.items()}
        wrong = [
            f"{name} {shapes[name]}, expected {tuple(tensor.shape)}"
            for name, tensor in own.items()
            if name in shapes and shapes[name] != tuple(tensor.shape)
        ]
        complaints = [f"missing {missing}"] if strict and missing else []
        complaints += [f"unexpected {unexpected}"] if strict and unexpected else []
        complaints += [f"wrong shape: {'; '.join(wrong)}"] if wrong else []
        if complaints:
            raise RuntimeError(f"load_state_dict: {', '.join(complaints)}")
        with no_grad():
            for name, tensor in own.items():
                if name in state_dict:
                    tensor.copy_(state_dict[name])
        return Keys(missing, unexpected)

    # -------------------------------------------------------------------------------- whole modules

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call fn on every module below this one, then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set .training, which dropout looks at, here and below."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> Self:
        """train(False)"""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether the parameters here and below are trained."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the parameters here and below, or set them to zero."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.detach_()
                parameter.grad.zero_()

    def to(self, *args: Any, **keywords: Any) -> Self:
        """Convert floating parameters and buffers to a dtype, in place; the only device is cpu."""
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            changed = tensor.detach().to(*args, **keywords)
            if changed.is_floating_point() and tensor.is_floating_point():
                tensor.data = changed
                if tensor.grad is not None:
                    tensor.grad = tensor.grad.to(*args, **keywords)
        return self

    def type(self, dst_type: dtype) -> Self:
        """to(dst_type)"""
        return self.to(dst_type)

    def float(self) -> Self:
        """to(float32)"""
        return self.to(float32)

    def double(self) -> Self:
        """to(float64)"""
        return self.to(float64)

    def cpu(self) -> Self:
        """Itself: the only device is cpu."""
        return self

    # ------------------------------------------------------------------------------------- printing

    def extra_repr(self) -> str:
        """What a module says of itself between its parentheses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        name = type(self).__name__
        if not children:
            return f"{name}({extra})"
        lines = [*([extra] if extra else []), *children]
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)"
