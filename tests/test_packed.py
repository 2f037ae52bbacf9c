"""Packed weights: the bits of plain ones, for few rows and many, in panels of any width."""

import numpy as np
import pytest

import tensorlite
from tensorlite import nn
from tensorlite.nn import functional as F


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 40, 400])
def test_a_packed_weight_gives_the_bits_of_the_plain_one(dtype, rows, all_threads):
    rng = np.random.default_rng(rows)
    for k, n in [(1, 1), (5, 3), (256, 32), (300, 70), (600, 333)]:
        x, weight, bias = (
            tensorlite.from_numpy(rng.standard_normal(shape).astype(dtype))
            for shape in ((rows, k), (n, k), (n,))
        )
        for b in (bias, None):
            expected = F.linear(x, weight, b).numpy()
            activated = F.linear_activation(x, weight, b, activation="silu").numpy()
            for width in (None, 7):
                panels = F.pack_weight(weight, width=width)
                for threads in {1, all_threads}:
                    tensorlite.set_num_threads(threads)
                    y = F.packed_linear(x, panels, b, features=n)
                    assert y.numpy().tobytes() == expected.tobytes()
                    y = F.packed_linear(x, panels, b, features=n, activation="silu")
                    assert y.numpy().tobytes() == activated.tobytes()


def test_wrong_panels_are_refused():
    panels = F.pack_weight(tensorlite.ones(5, 3), width=2)
    assert panels.shape == (3, 3, 2)
    with pytest.raises(RuntimeError, match=r"7 features need panels \(ceil\(7 / w\), K, w\)"):
        F.packed_linear(tensorlite.ones(2, 3), panels, None, features=7)
    with pytest.raises(IndexError, match=r"packed_embedding: ids must lie in \[0, 5\), got 5"):
        F.packed_embedding(panels, ids=tensorlite.tensor([1, 5]), features=5)
    with pytest.raises(RuntimeError, match="the input's last size must be the weight's second"):
        F.packed_linear(
            tensorlite.ones(2, 4), F.pack_weight(tensorlite.ones(5, 3)), None, features=5
        )
    with pytest.raises(RuntimeError, match="takes a floating matrix"):
        F.pack_weight(tensorlite.ones(5))


def test_a_packed_layer_stays_right_in_another_dtype():
    plain = nn.Linear(20, 50)
    packed = nn.PackedLinear(plain.weight, plain.bias).double()
    x = tensorlite.randn(3, 20, dtype=tensorlite.float64)
    assert (packed(x) == plain.double()(x)).all()
