"""save and load: tensors as safetensors, and the dicts, lists and scalars around them as JSON.

The file is one that every reader of safetensors understands: a header in JSON that names the
tensors, then their bytes. What has no place in that, the structure around the tensors, is JSON in
the header's metadata under "tensorlite". Reading runs no code, unlike PyTorch's pickle files.

    8 bytes     the header's length n, little-endian
    n bytes     {"__metadata__": {...}, "name": {"dtype": "F32", "shape": [2, 3],
                                                 "data_offsets": [0, 24]}, ...}
    the rest    the tensors, without gaps, each in C order, little-endian
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tensorlite import dtypes
from tensorlite.autograd import Array, wrap
from tensorlite.device import check_device, device
from tensorlite.size import Size
from tensorlite.tensor import Tensor

KEY = "tensorlite"  # of our metadata
ALIGNMENT = 8  # of the bytes after the header
LONGEST_HEADER = 100_000_000  # as in the safetensors library

_CODES: dict[np.dtype[Any], str] = {
    np.dtype(np.float64): "F64",
    np.dtype(np.float32): "F32",
    np.dtype(np.int64): "I64",
    np.dtype(np.int32): "I32",
    np.dtype(np.uint8): "U8",
    np.dtype(np.bool_): "BOOL",
}
# What others may write: its type in the file, and what it becomes here.
_READABLE: dict[str, tuple[np.dtype[Any], np.dtype[Any]]] = {
    **{code: (numpy.newbyteorder("<"), numpy) for numpy, code in _CODES.items()},
    "F16": (np.dtype("<f2"), np.dtype(np.float32)),
    "BF16": (np.dtype("<u2"), np.dtype(np.float32)),
    "I16": (np.dtype("<i2"), np.dtype(np.int32)),
    "I8": (np.dtype("<i1"), np.dtype(np.int32)),
}


class FormatError(ValueError):
    """A file that load() cannot read; the message says what it is and what to do."""


# -------------------------------------------------------------------------------------------- save


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO) -> None:
    """Write tensors, and dicts, lists, tuples, numbers, strings, bools and None around them.

    f: a path, which holds the old content or all of the new one at every moment; or a binary file

    Tensors of the same memory are written once, and share it when loaded; whether one requires
    a gradient is kept too. TypeError for anything else, OSError if the disk cannot take it.
    """
    packer = _Packer()
    text = json.dumps(packer.pack(obj, ()), allow_nan=False, separators=(",", ":"))
    # The widest first, so that each lies at a multiple of its width.
    arrays = dict(sorted(packer.arrays.items(), key=lambda item: -item[1].itemsize))
    parts = [_header(arrays, text), *(_bytes_of(array) for array in arrays.values())]
    if not isinstance(f, (str, os.PathLike)):
        f.writelines(parts)
        return
    path = Path(os.path.realpath(f))
    try:
        _replace(path, parts)
    except OSError as error:
        intact = "; what was there is intact" if path.is_file() else ""
        what = f"save: cannot write {path}: {error.strerror}{intact}"
        raise type(error)(error.errno, what) from None


def _replace(path: Path, parts: Iterable[Any]) -> None:
    """Write beside the file and rename, which within a folder happens at once or not at all."""
    if path.exists() and not path.is_file():  # a pipe or a device
        with path.open("wb") as file:
            file.writelines(parts)
        return
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with beside.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())  # the bytes reach the disk before the name does
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _bytes_of(array: Array) -> Any:
    return array.reshape(-1).view(np.uint8).data


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder last through a power cut, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _header(arrays: Mapping[str, Array], text: str) -> bytes:
    """The length, and the JSON padded with spaces. "pt" is what readers of weights look for."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt", KEY: text}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        entries[name] = {
            "dtype": _CODES[array.dtype],
            "shape": array.shape,
            "data_offsets": [start, end],
        }
    content = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


class _Packer:
    """Turn an object into JSON, where tensors stand as {"$tensor": name}.

    A JSON object with one key that begins with $ means something; all others are dicts:
        $tensor, $array    a name; and "$grad": true if it requires a gradient
        $dict              pairs of key and value: a dict with keys that are not plain strings
        $tuple, $size      a list of items
        $float             nan, inf or -inf
        $dtype             the name of a dtype
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.names: dict[Any, str] = {}  # memory -> name
        self.open: set[int] = set()  # containers around what is being packed

    def pack(self, obj: Any, path: tuple[Any, ...]) -> Any:
        if obj is None or isinstance(obj, (str, int)):  # bool is an int
            return obj
        if isinstance(obj, float):
            return obj if math.isfinite(obj) else {"$float": str(float(obj))}
        if isinstance(obj, Tensor):
            packed = {"$tensor": self._name(obj.array, path)}
            return packed | ({"$grad": True} if obj.is_leaf and obj.requires_grad else {})
        if isinstance(obj, np.ndarray):
            return {"$array": self._name(obj, path)}
        if isinstance(obj, np.generic):
            return self.pack(obj.item(), path)
        if isinstance(obj, dtypes.dtype):
            return {"$dtype": obj.name}
        if not isinstance(obj, (Mapping, list, tuple)):
            raise TypeError(f"save: {_place(path)} is a {type(obj).__name__}; {_advice(obj)}")
        if id(obj) in self.open:
            raise ValueError(f"save: {_place(path)} contains itself")
        self.open.add(id(obj))
        packed = self._pack_container(obj, path)
        self.open.discard(id(obj))
        return packed

    def _pack_container(self, obj: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(obj, Mapping):
            plain = all(isinstance(key, str) and not key.startswith("$") for key in obj)
            if plain:
                return {key: self.pack(value, (*path, key)) for key, value in obj.items()}
            pairs = [
                [self.pack(key, (*path, "(key)")), self.pack(value, (*path, key))]
                for key, value in obj.items()
            ]
            return {"$dict": pairs}
        items = [self.pack(value, (*path, i)) for i, value in enumerate(obj)]
        if isinstance(obj, list):
            return items
        return {"$size" if isinstance(obj, Size) else "$tuple": items}

    def _name(self, array: Array, path: tuple[Any, ...]) -> str:
        """The name under which an array is stored: its path, as in state_dict()."""
        if array.dtype not in _CODES:
            known = ", ".join(str(numpy) for numpy in _CODES)
            raise TypeError(
                f"save: {_place(path)} has dtype {array.dtype}; it must be one of {known}"
            )
        address = array.__array_interface__["data"][0]
        memory = address, array.shape, array.strides, array.dtype.name
        if array.size and memory in self.names:
            return self.names[memory]
        name = wanted = ".".join(map(str, path)).encode(errors="replace").decode() or "tensor"
        count = 1
        while name in self.arrays or name == "__metadata__":
            count += 1
            name = f"{wanted}#{count}"
        self.names[memory] = name
        little = array.dtype.newbyteorder("<")
        self.arrays[name] = np.ascontiguousarray(array, little).reshape(array.shape)
        return name


def _place(path: tuple[Any, ...]) -> str:
    return "what is to be saved" if not path else "".join(f"[{key!r}]" for key in path)


def _advice(obj: Any) -> str:
    if is_dataclass(obj):
        return "save dataclasses.asdict() of it"
    if hasattr(obj, "state_dict"):
        return "save its state_dict()"
    if isinstance(obj, (set, frozenset)):
        return "save sorted() of it"
    return "only tensors, dicts, lists, tuples, numbers, strings, bools and None can be saved"


# -------------------------------------------------------------------------------------------- load


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool | None = None,
) -> Any:
    """What save() wrote; of other safetensors files, a dict of the tensors by their names.

    Half floats of other files become float32, small integers int32. FormatError says what is wrong
    with a file: damaged, cut off, or a pickle, which this function never reads. map_location,
    weights_only and mmap are accepted and change nothing.
    """
    if isinstance(map_location, (str, device)):
        check_device(map_location)
    if not isinstance(f, (str, os.PathLike)):
        return _load(f, str(getattr(f, "name", "the file")))
    with open(f, "rb") as file:
        return _load(file, str(f))


def _load(file: BinaryIO, name: str) -> Any:
    start = file.tell()
    file.seek(0, os.SEEK_END)
    size = file.tell() - start
    file.seek(start)
    header = _read_header(file, size, name)
    metadata = header.pop("__metadata__", None) or {}
    arrays = dict(_read_arrays(file, header, size, name))
    if not isinstance(metadata, dict) or KEY not in metadata:
        return {key: wrap(array) for key, array in arrays.items()}
    try:
        return _Unpacker(arrays).unpack(json.loads(metadata[KEY]))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"load: {name} is damaged: its structure cannot be read: {error!r}"
        ) from None


def _read_header(file: BinaryIO, size: int, name: str) -> dict[str, Any]:
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:] != b"{" or length > LONGEST_HEADER:
        raise FormatError(f"load: {name} {_diagnosis(start, size)}")
    if 8 + length > size:
        raise FormatError(f"load: {name} is cut off: its header alone has {length} bytes")
    try:
        header = json.loads(start[8:] + file.read(length - 1))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"load: {name} is damaged: its header cannot be read: {error}") from None
    if not isinstance(header, dict):
        raise FormatError(f"load: {name} is damaged: its header is no object")
    return header


def _diagnosis(start: bytes, size: int) -> str:
    if size == 0:
        return "is empty"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return (
            "is a pickle, as torch.save writes it; reading one runs code, so load() never does. In "
            "PyTorch, write it anew: safetensors.torch.save_file(torch.load(path), new_path)"
        )
    if start[:6] == b"\x93NUMPY":
        return "is an array of NumPy; read it with tensorlite.from_numpy(numpy.load(path))"
    return "is not a safetensors file"


def _read_arrays(
    file: BinaryIO, header: Mapping[str, Any], size: int, name: str
) -> Iterable[tuple[str, Array]]:
    """The tensors in the order of the file, after checking that they fill it."""
    place = 0
    first = file.tell()
    for key, entry in sorted(header.items(), key=lambda item: _offset(item[1])):
        try:
            code, (begin, end) = str(entry["dtype"]), map(int, entry["data_offsets"])
            shape = tuple(map(int, entry["shape"]))
        except (KeyError, TypeError, ValueError):
            raise FormatError(
                f"load: {name} is damaged: the header says {key!r}: {entry}"
            ) from None
        if code not in _READABLE:
            known = ", ".join(_READABLE)
            raise FormatError(f"load: {name}: {key} has dtype {code}; it must be one of {known}")
        stored, wanted = _READABLE[code]
        if begin != place or min(shape, default=0) < 0 or end - begin != (
            math.prod(shape) * stored.itemsize
        ):  # fmt: skip
            raise FormatError(f"load: {name} is damaged: {key} {shape} cannot lie at {begin}:{end}")
        place = end
        if first + end > size:
            raise FormatError(
                f"load: {name} is cut off: {key} should end at byte {first + end}, not {size}"
            )
        array: Any = np.empty(math.prod(shape), stored)
        if file.readinto(memoryview(array).cast("B")) != end - begin:  # type: ignore[attr-defined]
            raise FormatError(f"load: {name} is cut off in {key}")
        yield key, _as_wanted(array, code, wanted).reshape(shape)
    if first + place != size:
        raise FormatError(f"load: {name} is damaged: {size - first - place} bytes too many")


def _offset(entry: Any) -> int:
    try:
        return int(entry["data_offsets"][0])
    except (KeyError, TypeError, ValueError, IndexError):
        return -1


def _as_wanted(array: Array, code: str, wanted: np.dtype[Any]) -> Array:
    if code == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(wanted, copy=False)


class _Unpacker:
    """The reverse of _Packer."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        self.tensors: dict[Any, Tensor] = {}

    def unpack(self, packed: Any) -> Any:
        if isinstance(packed, list):
            return [self.unpack(item) for item in packed]
        if not isinstance(packed, dict):
            return packed
        kind = next(iter(packed), "")
        if not kind.startswith("$"):
            return {key: self.unpack(value) for key, value in packed.items()}
        content = packed[kind]
        match kind:
            case "$tensor":
                return self._tensor(content, bool(packed.get("$grad")))
            case "$array":
                return self.arrays[content]
            case "$dict":
                return {self.unpack(key): self.unpack(value) for key, value in content}
            case "$tuple":
                return tuple(self.unpack(item) for item in content)
            case "$size":
                return Size(content)
            case "$float":
                return float(content)
            case "$dtype":
                return dtypes.dtype.of(np.dtype(content))
        raise ValueError(f"{kind} is unknown; a later version of tensorlite may have written it")

    def _tensor(self, name: str, requires_grad: bool) -> Tensor:
        if (name, requires_grad) not in self.tensors:
            tensor = wrap(self.arrays[name]).requires_grad_(requires_grad)
            self.tensors[name, requires_grad] = tensor
        return self.tensors[name, requires_grad]
