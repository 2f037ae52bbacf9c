"""Modules: what they register, name, save, load, print; layers and initial values as PyTorch's."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import tensorlite
from tensorlite import nn
from tensorlite.nn import functional as F
from tensorlite.ops import activation


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(5, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4, bias=False)])
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.wte.weight
        self.register_buffer("mask", tensorlite.ones(2, 2).tril() == 1)
        self.register_buffer("scratch", tensorlite.zeros(3), persistent=False)

    def forward(self, ids):
        x = self.wte(ids)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)


def test_a_shared_parameter_is_counted_once_and_saved_twice():
    net = Net()
    names = [name for name, _ in net.named_parameters()]
    assert names == ["wte.weight", "layers.0.weight", "layers.0.bias", "layers.1.weight"]
    assert list(net.state_dict()) == ["mask", *names, "head.weight"]
    assert sum(p.numel() for p in net.parameters()) == 20 + 16 + 4 + 16


def test_saved_state_shares_memory_and_loads_into_another():
    one, two = Net(), Net()
    keys = two.load_state_dict(one.state_dict())
    assert keys.missing_keys == keys.unexpected_keys == []
    ids = tensorlite.tensor([[0, 3]])
    assert tensorlite.equal(one(ids), two(ids))
    with tensorlite.no_grad():
        one.wte.weight.fill_(2)
    assert float(one.state_dict()["head.weight"].sum()) == 40
    assert float(two.state_dict()["head.weight"].sum()) != 40


def test_loading_lists_all_that_does_not_fit_and_changes_nothing():
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = dict(net.state_dict())
    state["extra"] = state.pop("layers.0.bias")
    state["wte.weight"] = tensorlite.zeros(6, 4)
    message = (
        r"load_state_dict: missing \['layers.0.bias'\], unexpected \['extra'\], "
        r"wrong shape: wte.weight \(6, 4\), expected \(5, 4\)"
    )
    with pytest.raises(RuntimeError, match=message):
        net.load_state_dict(state)
    for name, value in net.state_dict().items():
        assert tensorlite.equal(value, before[name])
    del state["wte.weight"]
    keys = net.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["wte.weight", "layers.0.bias"]
    assert keys.unexpected_keys == ["extra"]


def test_a_misspelt_attribute_names_the_nearest():
    with pytest.raises(AttributeError, match=r"no attribute 'wieght'; did you mean 'weight'\?"):
        _ = nn.Linear(2, 2).wieght
    with pytest.raises(AttributeError, match="before super"):

        class Early(nn.Module):
            def __init__(self):
                self.layer = nn.Linear(1, 1)

        Early()


def test_a_parameter_takes_only_parameters():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"wrap it in nn\.Parameter"):
        layer.weight = tensorlite.zeros(2, 2)
    layer.bias = None
    assert layer.bias is None and len(list(layer.parameters())) == 1
    del layer.weight
    assert not hasattr(layer, "weight")


def test_train_and_eval_reach_every_module():
    net = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    x = tensorlite.ones(100)
    assert not tensorlite.equal(net(x), x)
    assert tensorlite.equal(net.eval()(x), x)
    assert not net[1][0].training and net.train()[1][0].training


def test_hooks_see_and_replace_results():
    layer, seen = nn.Identity(), []
    first = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    second = layer.register_forward_hook(lambda module, args, out: seen.append(float(out)))
    third = layer.register_forward_hook(lambda module, args, out: out * 10)
    assert float(layer(tensorlite.tensor(1.0))) == 20 and seen == [2.0]
    for handle in (first, second, third):
        handle.remove()
    assert float(layer(tensorlite.tensor(1.0))) == 1


def test_modules_convert_copy_and_apply():
    net = Net().double()
    assert net.wte.weight.dtype == tensorlite.float64 and net.mask.dtype == tensorlite.bool
    assert net.head.weight is net.wte.weight
    twin = copy.deepcopy(net)
    assert twin.head.weight is twin.wte.weight and twin.wte.weight is not net.wte.weight
    seen = []
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Embedding", "Linear", "Linear", "ModuleList", "Linear", "Net"]


def test_what_is_registered_is_an_attribute_whoever_writes_it():
    layer, other = nn.Linear(2, 3), nn.Parameter(tensorlite.ones(3, 2))
    layer._parameters["weight"] = other
    assert layer.weight is other and layer.__dict__["weight"] is other
    layer._parameters |= {"extra": other}
    assert layer.extra is other
    assert layer._parameters.pop("extra") is other
    with pytest.raises(AttributeError, match="extra"):
        _ = layer.extra
    layer._modules.update(inner=nn.Identity())
    assert list(layer.children()) == [layer.inner]
    layer._modules.clear()
    assert not hasattr(layer, "inner")
    layer.bias = None
    assert layer.bias is None and layer._parameters["bias"] is None
    layer._parameters = {"weight": layer.weight}
    layer._parameters["bias"] = nn.Parameter(tensorlite.ones(3))
    assert layer.bias is layer._parameters["bias"]
    assert sorted(set(dir(layer))) == sorted(dir(layer))


def test_a_name_of_the_class_is_not_hidden():
    names = nn.ModuleDict()
    names._modules["keys"] = nn.Identity()
    assert list(names.keys()) == ["keys"]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_has_registries_of_its_own(copied):
    layer = nn.Linear(2, 3)
    twin = copied(layer)
    del twin.bias
    twin.more = nn.Parameter(tensorlite.zeros(1))
    assert [name for name, _ in twin.named_parameters()] == ["weight", "more"]
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert twin.more is twin._parameters["more"] and layer.bias is layer._parameters["bias"]


def test_a_module_dies_with_its_last_reference():
    gc.disable()
    try:
        layer = nn.Sequential(nn.Linear(2, 3))
        weight = weakref.ref(layer[0].weight)
        del layer
        assert weight() is None
    finally:
        gc.enable()


def test_zero_grad_forgets_or_zeroes():
    layer = nn.Linear(2, 1)
    layer(tensorlite.ones(1, 2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert not layer.weight.grad.numpy().any()
    layer.zero_grad()
    assert layer.weight.grad is None


def test_containers_behave_as_python_does():
    a, b, c = nn.Identity(), nn.ReLU(), nn.Tanh()
    modules = nn.ModuleList([a, b])
    modules.append(c)
    modules.insert(0, c)
    assert list(modules) == [c, a, b, c] and modules[-1] is c and len(modules[1:3]) == 2
    del modules[0]
    modules[0] = b
    assert list(modules) == [b, b, c]
    named = nn.ModuleDict({"x": a})
    named["y"] = b
    assert list(named) == ["x", "y"] and "y" in named and named["y"] is b
    parameters = nn.ParameterList([tensorlite.zeros(2), tensorlite.ones(3)])
    assert len(list(parameters.parameters())) == 2 and parameters[1].numel() == 3


def test_embedding_rows_of_padding_are_not_trained():
    layer = nn.Embedding(4, 3, padding_idx=1)
    assert not layer.weight.detach().numpy()[1].any()
    layer(tensorlite.tensor([0, 1, 1, 2])).sum().backward()
    assert layer.weight.grad.numpy().sum(1).tolist() == [3, 0, 3, 0]


def test_functions_refuse_what_they_cannot_do():
    with pytest.raises(IndexError, match=r"embedding: ids must lie in \[0, 5\), got 7 at \(0, 1\)"):
        nn.Embedding(5, 2)(tensorlite.tensor([[1, 7]]))
    with pytest.raises(RuntimeError, match="layer_norm: normalized_shape"):
        nn.LayerNorm(3)(tensorlite.ones(2, 4))
    with pytest.raises(ValueError, match="p must lie in"):
        F.dropout(tensorlite.ones(2), 1.5)
    with pytest.raises(RuntimeError, match=r"one_hot: ids must lie in \[0, 2\), got 2"):
        F.one_hot(tensorlite.tensor([0, 2]), 2)
    with pytest.raises(IndexError, match=r"cross_entropy: targets must lie in \[0, 3\)"):
        F.cross_entropy(tensorlite.ones(1, 3), tensorlite.tensor([3]))
    with pytest.raises(NotImplementedError, match="has no forward"):
        nn.Module()(1)


def test_gradients_are_clipped_to_their_common_norm():
    a, b = nn.Parameter(tensorlite.zeros(2)), nn.Parameter(tensorlite.zeros(1))
    a.grad, b.grad = tensorlite.tensor([3.0, 0.0]), tensorlite.tensor([4.0])
    assert float(nn.utils.clip_grad_norm_([a, b], 10.0)) == 5 and float(b.grad) == 4
    assert float(nn.utils.clip_grad_norm_([a, b], 1.0)) == 5
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0], rtol=1e-6)
    assert float(nn.utils.clip_grad_norm_([a, b], 1.0, norm_type=float("inf"))) == pytest.approx(
        0.8
    )
    nn.utils.clip_grad_value_([a, b], 0.5)
    assert a.grad.numpy().max() == 0.5
    a.grad[0] = float("nan")
    with pytest.raises(RuntimeError, match="must be finite"):
        nn.utils.clip_grad_norm_([a], 1.0, error_if_nonfinite=True)
    vector = nn.utils.parameters_to_vector([a, b])
    nn.utils.vector_to_parameters(vector + 1, [a, b])
    assert a.tolist() == [1, 1] and b.tolist() == [1]


INITS = [
    "uniform_",
    "normal_",
    "trunc_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "orthogonal_",
]


@pytest.mark.parametrize("name", INITS)
def test_initial_values_have_the_spread_they_promise(name):
    tensorlite.manual_seed(1)
    values = getattr(nn.init, name)(tensorlite.empty(300, 200)).numpy()
    spread = {
        "uniform_": 12**-0.5,
        "normal_": 1,
        "trunc_normal_": 0.8796,
        "xavier_uniform_": (2 / 500) ** 0.5,
        "xavier_normal_": (2 / 500) ** 0.5,
        "kaiming_uniform_": (2 / 200) ** 0.5,
        "kaiming_normal_": (2 / 200) ** 0.5,
        "orthogonal_": 300**-0.5,
    }[name]
    assert values.std() == pytest.approx(spread, rel=0.02)


def test_initial_values_are_torchs():
    torch = pytest.importorskip("torch")
    for name in INITS:
        tensorlite.manual_seed(3)
        torch.manual_seed(3)
        ours = getattr(nn.init, name)(tensorlite.empty(20, 30)).numpy()
        theirs = getattr(torch.nn.init, name)(torch.empty(20, 30)).numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-6, err_msg=name)
    tensorlite.manual_seed(4)
    torch.manual_seed(4)
    ours = nn.init.trunc_normal_(tensorlite.empty(50, 30), 0.0, 1.0, 2.0, 3.0).numpy()
    theirs = torch.nn.init.trunc_normal_(torch.empty(50, 30), 0.0, 1.0, 2.0, 3.0).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_layers_draw_print_and_compute_as_torchs():
    torch = pytest.importorskip("torch")

    def build(nn):
        return nn.Sequential(
            nn.Embedding(10, 4),
            nn.Linear(4, 8),
            nn.GELU(),
            nn.LayerNorm(8),
            nn.Linear(8, 8, bias=False),
            nn.GELU(approximate="tanh"),
            nn.RMSNorm(8),
            nn.SiLU(),
            nn.Linear(8, 3),
            nn.Softmax(dim=-1),
        )

    tensorlite.manual_seed(1)
    torch.manual_seed(1)
    ours, theirs = build(nn), build(torch.nn)
    assert repr(ours) == repr(theirs)
    ids = np.array([[1, 2, 3], [9, 0, 1]])
    y, expected = ours(tensorlite.from_numpy(ids)), theirs(torch.from_numpy(ids))
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), atol=1e-6)
    (y[..., 0] ** 2).sum().backward()
    (expected[..., 0] ** 2).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-5)


def test_losses_are_torchs_with_every_option():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 5, 3))
    ids = rng.integers(0, 5, (4, 3))
    ids[0, 0] = -100
    weight = rng.random(5)
    probabilities = rng.random((4, 5, 3))

    def both(call):
        results = []
        for module, functional in ((tensorlite, F), (torch, torch.nn.functional)):
            leaf = module.from_numpy(x.copy()).requires_grad_()
            value = call(functional, leaf, module.from_numpy)
            value.sum().backward()
            results.append((value.detach().numpy(), leaf.grad.numpy()))
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)

    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.1):
            options = {"reduction": reduction, "label_smoothing": smoothing}
            both(lambda f, a, to, o=options: f.cross_entropy(a, to(ids), **o))
            both(lambda f, a, to, o=options: f.cross_entropy(a, to(ids), weight=to(weight), **o))
            both(lambda f, a, to, o=options: f.cross_entropy(a, to(probabilities), **o))
            both(
                lambda f, a, to, o=options: f.cross_entropy(a[0].mT, to(ids[1]).repeat(2)[:3], **o)
            )
        both(lambda f, a, to, r=reduction: f.nll_loss(a, to(ids), reduction=r))
        both(lambda f, a, to, r=reduction: f.nll_loss(a, to(ids), to(weight), reduction=r))
        both(lambda f, a, to, r=reduction: f.mse_loss(a, to(probabilities), reduction=r))
        both(
            lambda f, a, to, r=reduction: f.binary_cross_entropy_with_logits(
                a, to(probabilities), reduction=r, pos_weight=to(weight[:3])
            )
        )


@pytest.mark.parametrize("kept", [0, 1 << 30])
def test_an_mlp_has_the_bits_of_its_three_ops_whatever_it_keeps(kept, monkeypatch):
    monkeypatch.setattr(activation, "_KEPT", kept)
    shapes = ((20, 6), (30, 6), (30,), (5, 30), (5,))
    found = []
    for fused in (True, False):
        tensorlite.manual_seed(0)
        leaves = [tensorlite.randn(*shape, requires_grad=True) for shape in shapes]
        x, up, up_bias, down, down_bias = leaves
        if fused:
            y = F.feed_forward(x, up, up_bias, down, down_bias, activation="gelu_tanh")
        else:
            y = F.linear(F.gelu(F.linear(x, up, up_bias), approximate="tanh"), down, down_bias)
        (y * y).sum().backward()
        found.append([y, *(leaf.grad for leaf in leaves)])
    assert all(tensorlite.equal(a, b) for a, b in zip(*found, strict=True))
