"""The laws of the GPT: its definition, causality, and the equalities of bits E1, E2, E3."""

import copy
import math
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite
from gpt import GPT, GPTConfig, KVCache
from tensorlite import Tensor, nn, optim

TINY = GPTConfig(vocab_size=31, block_size=24, n_layer=2, n_head=2, n_embd=16)

# Every choice a config offers occurs in one of these.
SHAPES: dict[str, GPTConfig] = {
    "gpt2": TINY,
    "llama": replace(
        TINY, n_head=4, n_kv_head=2, norm="rms", position="rope", activation="swiglu",
        bias=False, tie_weights=False,
    ),
    "first transformer": replace(
        TINY, norm_position="post", position="sinusoidal", activation="relu",
    ),
    "shared heads": replace(TINY, n_kv_head=1, activation="relu2", bias=False),
    "post rms": replace(
        TINY, norm="rms", norm_position="post", position="rope", activation="silu",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> GPT:
    return make(SHAPES[request.param])


def make(config: GPTConfig, seed: int = 0) -> GPT:
    """A model whose attention is far from uniform: GPT-2's start leaves little to tell apart."""
    tensorlite.manual_seed(seed)
    model = GPT(config)
    with tensorlite.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8.0)
    return model


def random_ids(model: GPT, *shape: int, seed: int = 0) -> Tensor:
    draws = np.random.default_rng(seed).integers(0, model.config.vocab_size, shape)
    return tensorlite.from_numpy(draws)


def bits(x: Tensor) -> bytes:
    return x.detach().numpy().tobytes()


# ------------------------------------------------------------------------------------- definition


def naive(model: GPT, ids: list[int]) -> np.ndarray[Any, Any]:
    """The logits (T, V) of one sequence by the textbook, a position at a time, in float64."""
    c = model.config
    w = {name: p.detach().numpy().astype(np.float64) for name, p in model.named_parameters()}
    T, D = len(ids), c.head_width

    def linear(name: str, x: Any) -> Any:
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

    def norm(name: str, x: Any) -> Any:
        if c.norm == "rms":
            return x / np.sqrt((x**2).mean() + 1e-5) * w[name + ".weight"]
        standard = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        return standard * w[name + ".weight"] + w.get(name + ".bias", 0)

    def turn(x: Any, p: int) -> Any:
        if c.position != "rope":
            return x
        y = np.empty(D)
        for i in range(D // 2):
            a = p / 10000 ** (2 * i / D)
            y[i] = x[i] * math.cos(a) - x[i + D // 2] * math.sin(a)
            y[i + D // 2] = x[i + D // 2] * math.cos(a) + x[i] * math.sin(a)
        return y

    def attend(layer: int, xs: list[Any]) -> list[Any]:
        rows = [linear(f"h.{layer}.attn.qkv", x) for x in xs]
        H, G = c.n_head, c.kv_heads
        ys = []
        for i in range(T):
            heads = []
            for h in range(H):
                g = H + h * G // H  # the keys' place among the H + 2 G pieces
                q = turn(rows[i][h * D : (h + 1) * D], i)
                ks = [turn(rows[j][g * D : (g + 1) * D], j) for j in range(i + 1)]
                vs = [rows[j][(g + G) * D : (g + G + 1) * D] for j in range(i + 1)]
                e = np.exp([q @ k / math.sqrt(D) for k in ks])
                heads.append(sum(a * v for a, v in zip(e / e.sum(), vs, strict=True)))
            ys.append(linear(f"h.{layer}.attn.out", np.concatenate(heads)))
        return ys

    def feed(layer: int, x: Any) -> Any:
        up = linear(f"h.{layer}.mlp.up", x)
        match c.activation:
            case "gelu":
                t = np.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3))
                y = 0.5 * up * (1 + t)
            case "relu":
                y = np.maximum(up, 0)
            case "relu2":
                y = np.maximum(up, 0) ** 2
            case "silu":
                y = up / (1 + np.exp(-up))
            case "swiglu":
                gate = linear(f"h.{layer}.mlp.gate", x)
                y = gate / (1 + np.exp(-gate)) * up
        return linear(f"h.{layer}.mlp.down", y)

    xs = []
    for p, token in enumerate(ids):
        x = w["wte.weight"][token].copy()
        for feature in range(c.n_embd):
            if c.position == "learned":
                x[feature] += w["wpe.weight"][p, feature]
            elif c.position == "sinusoidal":
                a = p / 10000 ** (2 * (feature // 2) / c.n_embd)
                x[feature] += math.cos(a) if feature % 2 else math.sin(a)
        xs.append(x)
    for i in range(c.n_layer):
        if c.norm_position == "pre":
            ys = attend(i, [norm(f"h.{i}.norm_1", x) for x in xs])
            xs = [x + y for x, y in zip(xs, ys, strict=True)]
            xs = [x + feed(i, norm(f"h.{i}.norm_2", x)) for x in xs]
        else:
            ys = attend(i, xs)
            xs = [norm(f"h.{i}.norm_1", x + y) for x, y in zip(xs, ys, strict=True)]
            xs = [norm(f"h.{i}.norm_2", x + feed(i, x)) for x in xs]
    if c.norm_position == "pre":
        xs = [norm("norm_f", x) for x in xs]
    return np.stack([w.get("lm_head.weight", w["wte.weight"]) @ x for x in xs])


def test_logits_are_those_of_the_textbook(model: GPT) -> None:
    ids = random_ids(model, 2, 9)
    logits = model(ids).detach().numpy()
    for row in range(2):
        np.testing.assert_allclose(logits[row], naive(model, ids[row].tolist()), 2e-3, 2e-3)


def test_the_loss_is_the_cross_entropy_of_the_logits(model: GPT) -> None:
    ids, targets = random_ids(model, 3, 7), random_ids(model, 3, 7, seed=1)
    logits = model(ids).detach().numpy().astype(np.float64)
    log_sums = np.log(np.exp(logits).sum(-1))
    chosen = np.take_along_axis(logits, targets.numpy()[..., None], -1)[..., 0]
    expected = (log_sums - chosen).mean()
    assert model.loss(ids, targets).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_initial_loss_is_that_of_guessing(shape: str) -> None:
    tensorlite.manual_seed(1)
    model = GPT(SHAPES[shape])
    loss = model.loss(random_ids(model, 8, 24), random_ids(model, 8, 24, seed=1)).item()
    assert loss == pytest.approx(math.log(model.config.vocab_size), rel=0.05)


def test_parameters_are_counted_once() -> None:
    V, T, L, C = 31, 24, 2, 16
    blocks = L * (12 * C**2 + 13 * C) + 2 * C
    assert GPT(TINY).num_parameters() == V * C + T * C + blocks
    assert GPT(replace(TINY, tie_weights=False)).num_parameters() == 2 * V * C + T * C + blocks
    assert f"{V * C + T * C + blocks:,} parameters" in repr(GPT(TINY))


def test_projections_into_the_residual_stream_start_smaller() -> None:
    tensorlite.manual_seed(0)
    block = GPT(replace(TINY, n_embd=64, n_layer=8)).h[3]
    for module, deviation in (
        (block.attn.qkv, 0.02),
        (block.mlp.up, 0.02),
        (block.attn.out, 0.02 / 4),
        (block.mlp.down, 0.02 / 4),
    ):
        assert module.weight.detach().numpy().std() == pytest.approx(deviation, rel=0.1)
        assert not module.bias.detach().numpy().any()


# -------------------------------------------------------------------------------------- exactness


@given(t=st.integers(0, 23), token=st.integers(0, 30))
@settings(max_examples=8)
def test_a_changed_token_changes_no_logit_before_it(model: GPT, t: int, token: int) -> None:
    ids = random_ids(model, 2, 24)
    changed = ids.clone()
    changed[:, t] = token
    before, after = model(ids), model(changed)
    assert bits(before[:, :t]) == bits(after[:, :t])
    if (ids[:, t] != token).all():
        assert bits(before[:, t:]) != bits(after[:, t:])


@given(
    cuts=st.sets(st.integers(1, 23)),
    length=st.integers(1, 24),
    room=st.sampled_from([24, None]),
    threads=st.sampled_from([1, 2]),
)
@settings(max_examples=15)
def test_cached_logits_equal_uncached_ones_for_every_split(
    model: GPT, all_threads: int, cuts: set[int], length: int, room: int | None, threads: int
) -> None:
    ids = random_ids(model, 2, length)
    tensorlite.set_num_threads(all_threads)
    whole = model(ids)
    tensorlite.set_num_threads(min(threads, all_threads))
    cache = KVCache(model.config, batch_size=2, max_length=room)
    edges = [0, *sorted(cut for cut in cuts if cut < length), length]
    for start, end in pairwise(edges):
        part = model(ids[:, start:end], cache)
        assert bits(part) == bits(whole[:, start:end])
        assert cache.length == end


@given(batch=st.integers(2, 5), length=st.integers(1, 24), data=st.data())
@settings(max_examples=8)
def test_a_row_of_a_batch_equals_the_row_alone(
    model: GPT, batch: int, length: int, data: st.DataObject
) -> None:
    ids = random_ids(model, batch, length)
    row = data.draw(st.integers(0, batch - 1))
    assert bits(model(ids)[row : row + 1]) == bits(model(ids[row : row + 1]))


def test_threads_change_no_bit_of_loss_and_gradients(model: GPT, all_threads: int) -> None:
    ids, targets = random_ids(model, 3, 24), random_ids(model, 3, 24, seed=1)

    def step() -> list[bytes]:
        model.zero_grad()
        loss = model.loss(ids, targets)
        loss.backward()
        return [bits(loss), *(bits(p.grad) for p in model.parameters())]

    many = step()
    tensorlite.set_num_threads(1)
    assert step() == many
    model.zero_grad()


# ------------------------------------------------------------------------------------------ cache


@pytest.mark.parametrize("shape", SHAPES)
def test_the_layout_for_decoding_changes_no_bit(shape: str) -> None:
    plain, turned = make(SHAPES[shape]), make(SHAPES[shape]).eval().for_decoding()
    assert isinstance(turned.h[0].attn.qkv, nn.PackedLinear)
    assert turned.for_decoding() is turned and not any(m.training for m in turned.modules())
    packed = dict(turned.named_modules())
    for name, module in plain.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            assert bits(packed[name].weight) == bits(module.weight)
    ids = random_ids(plain, 1, 20)
    results, trained = [], []
    for model in (plain, turned):
        cache = KVCache(model.config)
        logits = [bits(model(ids[:, i : i + 1], cache)) for i in range(20)]
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optim.SGD(model.parameters(), lr=0.1).step()
        results.append((logits, loss.item()))
        trained.append(model(ids).detach().numpy())
    assert results[0] == results[1]
    # The two gradients of a tied table are added in another order when it is packed.
    np.testing.assert_allclose(trained[0], trained[1], rtol=1e-4, atol=1e-5)


def test_a_cached_pass_records_no_gradient() -> None:
    model = make(TINY)
    cache = KVCache(TINY)
    assert not model(random_ids(model, 1, 3), cache).requires_grad
    assert model(random_ids(model, 1, 3)).requires_grad


def test_setting_the_length_back_forgets_what_came_after() -> None:
    model, cache = make(TINY), KVCache(TINY)
    ids = random_ids(model, 1, 10)
    model(ids, cache)
    cache.length = 4
    assert bits(model(ids[:, 4:], cache)) == bits(model(ids)[:, 4:])


@pytest.mark.parametrize("how", ["same", "copied", "pickled", "replaced"])
def test_a_position_written_again_is_read_again(how: str) -> None:
    model, cache = make(TINY), KVCache(TINY)
    ids = random_ids(model, 1, 7)
    model(ids[:, :5], cache)
    model(tensorlite.tensor([[8]]), cache)  # a position that is taken back
    match how:
        case "copied":
            cache = copy.deepcopy(cache)
        case "pickled":
            cache = pickle.loads(pickle.dumps(cache))
        case "replaced":
            cache.keys, cache.values = cache.keys.clone(), cache.values.clone()
    cache.length = 5
    model(ids[:, 5:6], cache)
    assert bits(model(ids[:, 6:], cache)) == bits(model(ids)[:, 6:])


def test_a_pass_that_fails_leaves_the_cache_as_it_was() -> None:
    model, cache = make(TINY), KVCache(TINY)
    ids = random_ids(model, 1, 10)
    model(ids[:, :5], cache)
    with pytest.raises(Exception, match="31"):
        model(tensorlite.tensor([[1, 31]]), cache)
    assert cache.length == 5
    assert bits(model(ids[:, 5:], cache)) == bits(model(ids)[:, 5:])


def test_cache_and_model_say_what_does_not_fit() -> None:
    model = make(TINY)
    cache = KVCache(TINY, max_length=12)
    model(random_ids(model, 1, 10), cache)
    with pytest.raises(ValueError, match="KVCache: holds 12 positions, 10 used, cannot read 3"):
        model(random_ids(model, 1, 3), cache)
    with pytest.raises(ValueError, match="KVCache: made for batch_size 1, got 2"):
        model(random_ids(model, 2, 1), cache)
    with pytest.raises(ValueError, match="GPT: block_size is 24 positions, 10 used, cannot read"):
        model(random_ids(model, 1, 15), cache)
    with pytest.raises(ValueError, match=r"GPT: ids must have shape \(B, T\) with T > 0, got \(5,"):
        model(random_ids(model, 5))
    with pytest.raises(ValueError, match=r"max_length must lie in \[1, block_size = 24\], got 25"):
        KVCache(TINY, max_length=25)
    with pytest.raises(ValueError, match="KVCache: batch_size must be positive, got 0"):
        KVCache(TINY, batch_size=0)
    with pytest.raises(ValueError, match=r"KVCache: made for .*float64, got .*float32"):
        model(random_ids(model, 1, 1), KVCache(TINY, dtype=tensorlite.float64))
    assert "10 of 12 positions" in repr(cache)
    k = tensorlite.zeros(1, 2, 1, 8)
    with pytest.raises(ValueError, match=r"KVCache: call open\(1\) before a pass of 1 positions"):
        KVCache(TINY).append(0, k, k)


# --------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("shape", SHAPES)
def test_fifty_steps_overfit_one_batch(shape: str) -> None:
    tensorlite.manual_seed(0)
    model = GPT(replace(SHAPES[shape], n_embd=32))
    ids, targets = random_ids(model, 4, 12), random_ids(model, 4, 12, seed=1)
    optimizer = optim.AdamW(model.parameters(), lr=2e-2, weight_decay=0.0)
    for _ in range(50):
        loss = model.loss(ids, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1


def test_dropout_acts_in_training_only() -> None:
    model = make(replace(TINY, dropout=0.5))
    ids = random_ids(model, 1, 6)
    assert bits(model(ids)) != bits(model(ids))
    model.eval()
    assert bits(model(ids)) == bits(model(ids))
