"""save and load: the same values come back, files are whole or old, and foreign ones are named."""

import io
import json
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite
from tensorlite import optim
from tensorlite.nn import Linear, Parameter
from tensorlite.serialization import FormatError, load, save
from tensorlite.size import Size
from tensorlite.tensor import Tensor

DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


def again(obj):
    file = io.BytesIO()
    save(obj, file)
    file.seek(0)
    return load(file)


def same(a, b):
    """Equal in structure, types and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return a.requires_grad == b.requires_grad and same(a.detach().numpy(), b.detach().numpy())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


arrays = st.builds(
    lambda dtype, shape, seed: np.random.RandomState(seed).randint(0, 9, shape).astype(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.integers(0, 99),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.text(max_size=3) | st.integers(-9, 9) | st.tuples(st.integers(0, 3), st.text(max_size=2))
leaves = scalars | arrays | arrays.map(tensorlite.from_numpy)
objects = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(objects)
def test_what_is_saved_comes_back(obj):
    assert same(again(obj), obj)


def test_numbers_at_the_edges_come_back():
    obj = [math.inf, -math.inf, math.nan, -0.0, 5e-324, 10**400, True, 1, 1.0, "\ud800", "$float"]
    found = again(obj)
    assert same(found, obj)
    assert math.copysign(1, found[3]) == -1
    assert again({"$tensor": "no"}) == {"$tensor": "no"}
    assert again({"__metadata__": tensorlite.ones(1)})["__metadata__"].tolist() == [1]


def test_names_that_meet_are_told_apart():
    obj = {"a": {"b": tensorlite.ones(1)}, "a.b": tensorlite.zeros(1), "": tensorlite.ones(2)}
    assert same(again(obj), obj)


def test_what_shares_memory_shares_it_again_and_is_written_once():
    x = tensorlite.rand(1000)
    obj = {"in": x, "out": x.detach(), "copy": x.clone()}
    file = io.BytesIO()
    save(obj, file)
    assert 2 * x.nbytes < len(file.getvalue()) < 3 * x.nbytes
    file.seek(0)
    found = load(file)
    found["in"][0] = 7
    assert found["out"][0] == 7
    assert found["copy"][0] != 7


def test_tensors_remember_whether_they_require_a_gradient():
    layer = Linear(2, 3)
    found = again([layer.weight, layer.weight.detach(), layer.weight])
    assert [t.requires_grad for t in found] == [True, False, True]
    assert found[0] is found[2]
    assert type(found[0]) is Tensor


def test_strided_and_read_only_arrays_are_saved_as_they_read():
    array = np.arange(24.0).reshape(2, 3, 4)
    array.flags.writeable = False
    x = tensorlite.from_numpy(array)
    for view in (x, x.permute(2, 0, 1), x[:, ::2, 1], x[0, 0, 0], x.expand(2, 2, 3, 4)):
        found = again(view)
        assert found.tolist() == view.tolist()
        found.zero_()  # is our own memory


def test_other_types_that_tensors_bring_along():
    obj = {"size": Size((2, 3)), "dtype": tensorlite.float64, "number": np.float32(0.5)}
    found = again(obj)
    assert isinstance(found["size"], Size) and found["size"] == (2, 3)
    assert found["dtype"] is tensorlite.float64
    assert found["number"] == 0.5


def test_a_checkpoint_continues_a_training():
    model = Linear(3, 3)
    optimizer = optim.AdamW(model.parameters(), lr=0.1)

    def train(model, optimizer, x):
        optimizer.zero_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()

    x = tensorlite.rand(4, 3)
    train(model, optimizer, x)
    saved = again({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 1})
    other = Linear(3, 3)
    other_optimizer = optim.AdamW(other.parameters())
    other.load_state_dict(saved["model"])
    other_optimizer.load_state_dict(saved["optimizer"])
    for _ in range(3):
        train(model, optimizer, x)
        train(other, other_optimizer, x)
    assert other.weight.tolist() == model.weight.tolist()
    assert isinstance(other.weight, Parameter)


# ---------------------------------------------------------------------------- other programs' files


def test_the_safetensors_library_reads_our_files(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    obj = {"a.weight": tensorlite.rand(3, 2), "a.bias": tensorlite.tensor([True, False, True]),
           "n": tensorlite.arange(5), "empty": tensorlite.zeros(0, 2)}  # fmt: skip
    save(obj, tmp_path / "x.safetensors")
    found = safetensors.load_file(tmp_path / "x.safetensors")
    assert found.keys() == obj.keys()
    for name in obj:
        assert same(found[name], obj[name].numpy())


def test_we_read_the_files_of_the_safetensors_library(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    rng = np.random.RandomState(0)
    arrays = {f"x.{dtype}": rng.randint(0, 9, (2, 3)).astype(dtype) for dtype in DTYPES}
    arrays |= {"none": np.zeros((0, 4), np.float32), "scalar": np.array(3.5)}
    arrays |= {"short": np.array([-3, 4], np.int16), "byte": np.array([-3, 4], np.int8)}
    arrays["half"] = np.array([0.1, 65504, -1e-7, np.inf], np.float16)
    safetensors.save_file(arrays, tmp_path / "x.safetensors", {"format": "np"})
    found = load(tmp_path / "x.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].numpy().tolist() == array.tolist()
    assert found["half"].dtype == tensorlite.float32
    assert found["short"].dtype == tensorlite.int32


def test_bfloat16_becomes_float32(tmp_path):
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    x = torch.randn(100).bfloat16()
    safetensors.save_file({"x": x}, tmp_path / "x.safetensors")
    found = load(tmp_path / "x.safetensors")["x"]
    assert found.tolist() == x.float().tolist()
    layer, state = Linear(10, 10, bias=False), {"weight": found.view(10, 10)}
    layer.load_state_dict(state)
    assert layer.weight.tolist() == state["weight"].tolist()


def test_every_tensor_lies_at_a_multiple_of_its_width():
    file = io.BytesIO()
    save([tensorlite.ones(3, dtype=getattr(tensorlite, dtype)) for dtype in reversed(DTYPES)], file)
    content = file.getvalue()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    widths = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U8": 1, "BOOL": 1}
    del header["__metadata__"]
    assert len(header) == 6
    for entry in header.values():
        assert entry["data_offsets"][0] % widths[entry["dtype"]] == 0


# ---------------------------------------------------------------------------------------- bad files


def test_pickles_are_refused_with_the_way_out(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(FormatError, match=r"model\.pt is a pickle.*safetensors\.torch\.save_file"):
        load(path)
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(FormatError, match="is a pickle"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is a text", "is not a safetensors file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "is an array of NumPy"),
        (b"\x02\0\0\0\0\0\0\0{]", "its header cannot be read"),
        (b"\xff\0\0\0\0\0\0\0{}", "is cut off: its header alone has 255 bytes"),
        (b"\x02\0\0\0\0\0\0\0{}abc", "3 bytes too many"),
    ],
)
def test_foreign_and_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}, r"x \(2,\) cannot lie at 0:9"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}, "cannot lie at 8:16"),
        ({"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]}, "cannot lie"),
        ({"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}, "is cut off: x"),
        ({"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}, "x has dtype F99"),
        ({"dtype": "F32", "shape": "no", "data_offsets": [0, 8]}, "the header says 'x'"),
        ({"dtype": "F32"}, "the header says 'x'"),
        ([1], "the header says 'x'"),
    ],
)
def test_headers_that_lie_are_found_before_memory_is_taken(entry, message):
    header = json.dumps({"x": entry}).encode()
    file = io.BytesIO(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(FormatError, match=message):
        load(file)


@pytest.mark.parametrize(
    "structure",
    ['{"$tensor": "y"}', "[", '{"$later": 1}', '{"$dict": [1]}', "[" * 100_000],
)
def test_a_damaged_structure_is_named(structure):
    header = json.dumps({"__metadata__": {"tensorlite": structure}}).encode()
    file = io.BytesIO(len(header).to_bytes(8, "little") + header)
    with pytest.raises(FormatError, match="its structure cannot be read"):
        load(file)


@settings(max_examples=100)
@given(st.data())
def test_a_changed_byte_or_a_cut_gives_a_value_or_a_format_error(data):
    file = io.BytesIO()
    save({"a": tensorlite.arange(3), "b": [1, "x", {"c": tensorlite.ones(2, 2)}]}, file)
    content = bytearray(file.getvalue())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
        assert at < len(file.getvalue())
    try:
        load(io.BytesIO(bytes(content)))
    except FormatError as error:
        assert str(error).startswith("load: ")
    else:
        assert len(content) == len(file.getvalue())  # a cut is always noticed


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        ({"a": [1, {2, 3}]}, TypeError, r"\['a'\]\[1\] is a set; save sorted\(\) of it"),
        (object(), TypeError, "what is to be saved is a object"),
        ({"m": Linear(1, 1)}, TypeError, r"\['m'\] is a Linear; save its state_dict\(\)"),
        ({"f": np.zeros(2, np.float16)}, TypeError, "has dtype float16; it must be one of"),
        ({"z": 1j}, TypeError, "is a complex"),
    ],
)
def test_what_cannot_be_saved_is_told_by_its_place(obj, error, message, tmp_path):
    with pytest.raises(error, match=message):
        save(obj, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_what_contains_itself_cannot_be_saved():
    obj = {"a": []}
    obj["a"].append(obj)
    with pytest.raises(ValueError, match=r"\['a'\]\[0\] contains itself"):
        save(obj, io.BytesIO())
    item = [1]
    assert again([item, item]) == [[1], [1]]


def test_the_only_place_to_load_to_is_the_cpu(tmp_path):
    save(1, tmp_path / "x")
    assert load(tmp_path / "x", map_location="cpu", weights_only=True) == 1
    with pytest.raises(RuntimeError, match="only 'cpu' exists"):
        load(tmp_path / "x", map_location="cuda")


# ----------------------------------------------------------------------------------------- the disk


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    """The limit on the size of files stands for a full disk: writing fails halfway."""
    path = tmp_path / "x.safetensors"
    save("old", path)
    program = f"""
import resource, signal, sys
import tensorlite
from tensorlite.serialization import save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(tensorlite.zeros(100_000), {str(path)!r})
except OSError as error:
    sys.exit(str(error))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 1
    assert "save: cannot write" in result.stderr
    assert "what was there is intact" in result.stderr
    assert load(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_of_the_disk_keep_their_class(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"save: cannot write .*: No such file or directory"
    ):
        save(1, tmp_path / "missing" / "x")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "x")
    with pytest.raises(IsADirectoryError):
        save(1, tmp_path)


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    save("old", path)

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save("new", path)
    assert load(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x"
    save(tensorlite.zeros(1), path)
    program = f"""
import tensorlite
from tensorlite.serialization import save
x = tensorlite.zeros(300_000)
print("ready", flush=True)
while True:
    x += 1
    save([x, x[0].item()], {str(path)!r})
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        seen = set()
        while len(seen) < 5:  # read while it writes
            assert process.poll() is None
            found = load(path)
            if isinstance(found, list):
                assert (found[0] == found[1]).all()
                seen.add(found[1])
    finally:
        process.kill()
        process.wait()
    found = load(path)
    assert (found[0] == found[1]).all()


def test_a_link_stays_a_link_and_a_device_takes_the_bytes(tmp_path):
    save("old", tmp_path / "target")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    save("new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "target") == "new"
    save("gone", "/dev/null")
    assert not os.path.isfile("/dev/null")


def test_the_same_object_gives_the_same_bytes(tmp_path):
    obj = {"a": tensorlite.rand(5), "b": {3: [tensorlite.ones(2), None]}}
    for name in ("x", "y"):
        save(obj, tmp_path / name)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
