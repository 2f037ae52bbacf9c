"""Optimizers: PyTorch's steps, groups and saved states."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite
from tensorlite import float32, float64, nn, optim
from tensorlite.optim.muon import orthogonalized
from tensorlite.tensor import Tensor

SHAPES = [(3, 5), (), (7,), (2, 1, 40), (0, 3), (1000,)]


def leaves(library, dtype="float64", shapes=SHAPES, seed=0):
    rng = np.random.RandomState(seed)
    made = [library.tensor(rng.randn(*shape), dtype=getattr(library, dtype)) for shape in shapes]
    return [p.requires_grad_() for p in made]


def give_gradients(params, step, library):
    rng = np.random.RandomState(1000 + step)
    for p in params:
        p.grad = library.tensor(rng.randn(*p.shape), dtype=p.dtype)


def both(make, steps=5, dtype="float64", between=lambda optimizer, step: None):
    """The parameters after some steps here and in torch; between may change the optimizer."""
    torch = pytest.importorskip("torch")
    results = []
    for library, module in ((tensorlite, optim), (torch, torch.optim)):
        params = leaves(library, dtype)
        optimizer = make(module, params)
        for step in range(steps):
            give_gradients(params, step, library)
            between(optimizer, step)
            optimizer.step()
        results.append([p.detach().numpy() for p in params])
    return results


def assert_equal_steps(make, rtol=1e-12, **options):
    for ours, theirs in zip(*both(make, **options), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.3},
        {"weight_decay": 0.0, "maximize": True},
        {"fused": True},
        {"foreach": False},
    ],
)
def test_adam_steps_as_torchs(name, options):
    assert_equal_steps(lambda module, params: getattr(module, name)(params, **options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "weight_decay": 0.2},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.5, "maximize": True},
    ],
)
def test_sgd_steps_as_torchs(options):
    assert_equal_steps(lambda module, params: module.SGD(params, **options))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_float32_steps_as_torchs(name):
    def make(module, params):
        return getattr(module, name)(params, lr=0.01, weight_decay=0.1)

    assert_equal_steps(make, dtype="float32", rtol=1e-6)


def test_groups_have_options_of_their_own():
    def make(module, params):
        groups = [{"params": params[:2], "weight_decay": 0.5}, {"params": params[2], "lr": 0.2}]
        optimizer = module.AdamW(groups, lr=0.05, betas=(0.8, 0.95))
        optimizer.add_param_group({"params": params[3:], "betas": (0.7, 0.7)})
        return optimizer

    def change_rate(optimizer, step):
        for group in optimizer.param_groups:
            group["lr"] *= 0.9

    assert_equal_steps(make, between=change_rate)


def test_a_parameter_without_gradient_rests_and_counts_its_own_steps():
    def skip(optimizer, step):
        if step % 2:
            optimizer.param_groups[0]["params"][0].grad = None

    assert_equal_steps(lambda module, params: module.AdamW(params, lr=0.1), between=skip)
    assert_equal_steps(
        lambda module, params: module.SGD(params, lr=0.1, momentum=0.9, dampening=0.5),
        between=skip,
    )


def test_strided_parameters_and_gradients_step_as_contiguous_ones():
    results = []
    for strided in (False, True):
        rng = np.random.RandomState(3)
        array, gradient = rng.randn(4, 6), rng.randn(4, 6)
        if strided:
            array, gradient = np.asfortranarray(array), np.repeat(gradient, 2, 1)[:, ::2]
        p = tensorlite.from_numpy(array).requires_grad_()
        optimizer = optim.AdamW([p], lr=0.1)
        for _ in range(3):
            p.grad = tensorlite.from_numpy(gradient)
            optimizer.step()
        results.append(p.tolist())
        assert p.data_ptr() == array.__array_interface__["data"][0]
    assert results[0] == results[1]


def test_a_step_keeps_the_identity_and_memory_of_parameters_and_leaves_gradients_alone():
    for name in ("SGD", "Adam", "AdamW"):
        params = leaves(tensorlite)
        places = [p.data_ptr() for p in params]
        optimizer = getattr(optim, name)(params, lr=0.1, weight_decay=0.1)
        give_gradients(params, 0, tensorlite)
        gradients = [p.grad.tolist() for p in params]
        optimizer.step()
        assert [p.data_ptr() for p in params] == places
        assert [p.grad.tolist() for p in params] == gradients


def test_a_graph_that_needs_the_value_before_a_step_notices_the_step():
    p = tensorlite.ones(3, requires_grad=True)
    loss = (p * p).sum()
    p.grad = tensorlite.ones(3)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation, SGD\.step"):
        loss.backward()


@settings(max_examples=10)
@given(st.integers(1, 3), st.sampled_from(["SGD", "Adam", "AdamW", "Muon"]))
def test_the_number_of_threads_changes_no_bit(threads, name):
    from tensorlite.kernels.jit import get_num_threads, set_num_threads

    before = get_num_threads()
    results = []
    try:
        for n in (1, min(threads, before)):
            set_num_threads(n)
            params = leaves(tensorlite, "float32", [(300, 301), (5, 1)])
            optimizer = getattr(optim, name)(params, lr=0.1)
            for step in range(2):
                give_gradients(params, step, tensorlite)
                optimizer.step()
            results.append([p.detach().numpy().tobytes() for p in params])
    finally:
        set_num_threads(before)
    assert results[0] == results[1]


# --------------------------------------------------------------------------------------------- Muon


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (1, 3), (0, 3)])
def test_orthogonalized_sends_each_singular_value_through_the_polynomial(shape):
    x = np.random.RandomState(0).randn(*shape)
    found = orthogonalized(x, (3.4445, -4.7750, 2.0315), 5, 1e-7)
    u, s, v = np.linalg.svd(x / max(np.linalg.norm(x), 1e-7), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    np.testing.assert_allclose(found, u * s @ v, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "nesterov": False, "momentum": 0.5, "weight_decay": 0.5},
        {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw"},
    ],
)
def test_muon_steps_as_torchs_up_to_its_bfloat16(options):
    torch = pytest.importorskip("torch")
    results = []
    for library, module in ((tensorlite, optim), (torch, torch.optim)):
        params = leaves(library, "float32", [(6, 6), (4, 9), (12, 5)])
        optimizer = module.Muon(params, **options)
        moved = [-p.detach().numpy() for p in params]
        for step in range(3):
            give_gradients(params, step, library)
            optimizer.step()
        results.append([p.detach().numpy() + m for p, m in zip(params, moved, strict=True)])
    for ours, theirs in zip(*results, strict=True):
        assert np.linalg.norm(ours - theirs) < 0.05 * np.linalg.norm(theirs)


def test_muon_is_for_matrices():
    with pytest.raises(ValueError, match=r"must be matrices, got shape \(3,\)"):
        optim.Muon([tensorlite.ones(3, requires_grad=True)])
    with pytest.raises(ValueError, match="adjust_lr_fn must be"):
        optim.Muon([tensorlite.ones(3, 3, requires_grad=True)], adjust_lr_fn="no")


# ------------------------------------------------------------------------------------- the protocol


def test_adamw_trains_a_line_to_its_points():
    tensorlite.manual_seed(0)
    x = tensorlite.rand(64, 2)
    y = x @ tensorlite.tensor([2.0, -3.0]) + 0.5
    weight, bias = tensorlite.zeros(2, requires_grad=True), tensorlite.zeros((), requires_grad=True)
    optimizer = optim.AdamW([weight, bias], lr=0.05, weight_decay=0)
    for _ in range(600):
        optimizer.zero_grad()
        loss = ((x @ weight + bias - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-6
    np.testing.assert_allclose(weight.tolist(), [2, -3], atol=1e-2)


def test_zero_grad_forgets_or_writes_zeros():
    p = tensorlite.ones(3, requires_grad=True)
    optimizer = optim.SGD([p])
    (p * 2).sum().backward()
    held = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0, 0] and held.tolist() == [0, 0, 0]
    optimizer.zero_grad()
    assert p.grad is None


def test_a_closure_is_called_with_gradients_on():
    p = tensorlite.ones(2, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tensorlite.no_grad():
        assert optimizer.step(closure).item() == 2
    assert p.tolist() == [0, 0]


def test_a_users_own_optimizer_may_define_step():
    class SignSGD(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @tensorlite.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad.sign(), alpha=-group["lr"])
                    self.state[p]["steps"] = self.state[p].get("steps", 0) + 1

    p = tensorlite.zeros(2, requires_grad=True)
    optimizer = SignSGD([p], 0.1)
    p.grad = tensorlite.tensor([3.0, -0.2])
    optimizer.step()
    np.testing.assert_allclose(p.tolist(), [-0.1, 0.1])
    assert optimizer.state_dict()["state"] == {0: {"steps": 1}}


def test_fused_is_a_parameter_as_programs_ask():
    assert "fused" in inspect.signature(optim.AdamW).parameters


def test_the_signatures_are_torchs():
    torch = pytest.importorskip("torch")
    for name in ("SGD", "Adam", "AdamW", "Muon"):
        ours = inspect.signature(getattr(optim, name)).parameters
        theirs = inspect.signature(getattr(torch.optim, name)).parameters
        assert {k: v.default for k, v in ours.items()} == {k: v.default for k, v in theirs.items()}
        assert [k for k, v in ours.items() if v.kind is not v.KEYWORD_ONLY] == [
            k for k, v in theirs.items() if v.kind is not v.KEYWORD_ONLY
        ]


def test_named_parameters_and_repr_are_torchs():
    torch = pytest.importorskip("torch")
    texts = []
    for library, module in ((tensorlite, optim), (torch, torch.optim)):
        p = library.zeros(2, requires_grad=True)
        optimizer = module.AdamW([("w", p)], lr=0.5)
        assert optimizer.param_groups[0]["param_names"] == ["w"]
        texts.append(repr(module.SGD([p], lr=0.5)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.SGD([]), ValueError, "empty list"),
        (lambda p: optim.SGD(p), TypeError, "put it in a list"),
        (lambda p: optim.SGD([p.tolist()]), TypeError, "can only optimize tensors"),
        (lambda p: optim.SGD([p * 2]), ValueError, "is no leaf"),
        (lambda p: optim.SGD([{"params": {p}}]), TypeError, "got a set"),
        (lambda p: optim.SGD([{"lr": 1}]), TypeError, "'params'"),
        (
            lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]),
            ValueError,
            "more than one group",
        ),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "lr must not be negative"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "nesterov needs"),
        (lambda p: optim.AdamW([p], lr=-1), ValueError, "AdamW: lr must not be negative"),
        (lambda p: optim.AdamW([p], betas=(1, 0.9)), ValueError, "betas must lie"),
        (lambda p: optim.AdamW([p], eps=float("nan")), ValueError, "eps must not be negative"),
        (lambda p: optim.AdamW([p], amsgrad=True), NotImplementedError, "amsgrad"),
    ],
)
def test_what_cannot_be_optimized_is_told(make, error, message):
    with pytest.raises(error, match=message):
        make(tensorlite.ones(2, requires_grad=True))


def test_a_parameter_twice_in_a_group_is_updated_once():
    p = tensorlite.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="twice"):
        optimizer = optim.SGD([p, p], lr=0.5)
    p.grad = tensorlite.ones(2)
    optimizer.step()
    assert p.tolist() == [0.5, 0.5]


def test_arrays_that_do_not_fit_never_reach_the_kernel():
    p = tensorlite.ones(4, requires_grad=True)
    optimizer = optim.AdamW([p])
    p.grad = tensorlite.ones(3)
    with pytest.raises(
        RuntimeError, match=r"gradient of a parameter must be float32 of shape \(4,\)"
    ):
        optimizer.step()
    p.grad = tensorlite.ones(4)
    optimizer.step()
    p.data = p.data.double()
    p.grad = tensorlite.ones(4, dtype=float64)
    with pytest.raises(RuntimeError, match="exp_avg of a parameter must be float64"):
        optimizer.step()
    array = np.ones(4, np.float32)
    array.flags.writeable = False
    frozen = tensorlite.from_numpy(array).requires_grad_()
    frozen.grad = tensorlite.ones(4)
    with pytest.raises(RuntimeError, match="must be writable"):
        optim.SGD([frozen]).step()


# ------------------------------------------------------------------------------------- saved states


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_saved_state_continues_to_the_same_bits(name):
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if name == "SGD" else {})

    def run(params, optimizer, steps):
        for step in steps:
            give_gradients(params, step, tensorlite)
            optimizer.step()

    whole = leaves(tensorlite)
    run(whole, getattr(optim, name)(whole, **options), range(6))

    first = leaves(tensorlite)
    optimizer = getattr(optim, name)(first, **options)
    run(first, optimizer, range(3))
    second = [p.detach().clone().requires_grad_() for p in first]
    continued = getattr(optim, name)(second)
    continued.load_state_dict(optimizer.state_dict())
    run(first, optimizer, range(3, 4))  # the loaded state is a copy: this does not reach it
    run(second, continued, range(3, 6))
    assert [p.tolist() for p in second] == [p.tolist() for p in whole]
    assert continued.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_states_have_torchs_names(name):
    torch = pytest.importorskip("torch")
    states = []
    for library, module in ((tensorlite, optim), (torch, torch.optim)):
        params = leaves(library)
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(module, name)(
            [{"params": params[:1]}, {"params": params[1:]}], **options
        )
        give_gradients(params, 0, library)
        optimizer.step()
        states.append(optimizer.state_dict())
    ours, theirs = states
    assert ours["param_groups"] == theirs["param_groups"]
    assert ours["state"].keys() == theirs["state"].keys()
    for i in ours["state"]:
        assert ours["state"][i].keys() == theirs["state"][i].keys()
        for key, value in ours["state"][i].items():
            assert tuple(value.shape) == tuple(theirs["state"][i][key].shape)
            assert value.numpy().dtype == theirs["state"][i][key].numpy().dtype


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    params = leaves(tensorlite)
    optimizer = optim.AdamW(params, lr=0.1)
    give_gradients(params, 0, tensorlite)
    optimizer.step()
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"must have \[6\] parameters as here, got \[2\]"):
        optimizer.load_state_dict(optim.AdamW(leaves(tensorlite)[:2]).state_dict())
    other = optim.AdamW([tensorlite.zeros(9, requires_grad=True) for _ in params])
    give_gradients(other.param_groups[0]["params"], 0, tensorlite)
    other.step()
    with pytest.raises(ValueError, match=r"parameter 0 has shape \(3, 5\), its exp_avg"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.state_dict()["state"][0]["exp_avg"] is before["state"][0]["exp_avg"]


def test_a_state_takes_the_dtype_of_its_parameter():
    wide, narrow = leaves(tensorlite, "float64"), leaves(tensorlite, "float32")
    optimizer, other = optim.AdamW(wide), optim.AdamW(narrow)
    give_gradients(wide, 0, tensorlite)
    optimizer.step()
    other.load_state_dict(optimizer.state_dict())
    assert other.state[narrow[0]]["exp_avg"].dtype == float32
    assert other.state[narrow[0]]["step"].item() == 1


def test_shared_parameters_of_a_model_are_stepped_once():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    model[1].weight = model[0].weight
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    before = model[0].weight.detach().clone()
    model(tensorlite.tensor([1, 2])).sum().backward()
    g = model[0].weight.grad
    optimizer.step()
    assert (before - g).tolist() == model[1].weight.tolist()
    assert isinstance(model[0].weight, Tensor)
