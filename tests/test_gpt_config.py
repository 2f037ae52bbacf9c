"""GPTConfig, TrainingConfig and the presets check themselves, in sentences."""

import json
from typing import Any

import pytest

from gpt.config import PRESETS, GPTConfig, TrainingConfig, from_dict, preset, to_dict


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n_embd": 130, "n_head": 4}, "n_embd must be a multiple of n_head, got 130 and 4"),
        ({"n_kv_head": 5}, "n_head must be a multiple of n_kv_head, got 12 and 5"),
        ({"n_kv_head": 0}, "n_kv_head must be positive, got 0"),
        ({"n_embd": 36, "position": "rope"}, "needs an even n_embd / n_head, got 36 / 12 = 3"),
        ({"n_layer": 0}, "n_layer must be positive, got 0"),
        ({"vocab_size": -1}, "vocab_size must be positive, got -1"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"dropout": float("nan")}, r"dropout must lie in \[0, 1\), got nan"),
        ({"norm": "batch"}, r"norm must be one of layer \| rms, got 'batch'"),
        ({"activation": ["gelu"]}, "activation must be one of .*swiglu.*, got"),
        ({"n_layer": "4"}, "n_layer must be of type int, got '4'"),
        ({"n_layer": True}, "n_layer must be of type int, got True"),
        ({"n_kv_head": 1.5}, "n_kv_head must be of type int or None, got 1.5"),
        ({"bias": 1}, "bias must be of type bool, got 1"),
    ],
)
def test_a_wrong_shape_is_refused_in_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^GPTConfig: .*{sentence}"):
        GPTConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"minutes": 0.0}, "minutes must be positive, got 0.0"),
        ({"learning_rate": -1e-3}, "learning_rate must not be negative or infinite, got -0.001"),
        ({"learning_rate": float("inf")}, "learning_rate must not be negative or infinite"),
        ({"beta2": 1.0}, r"beta2 must lie in \[0, 1\), got 1.0"),
        ({"validation_fraction": 0.0}, r"validation_fraction must lie in \(0, 1\), got 0.0"),
        ({"seed": -1}, "seed must lie in"),
        ({"tokenizer": "words"}, r"tokenizer must be one of bpe \| char \| byte, got 'words'"),
    ],
)
def test_a_wrong_training_is_refused_in_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^TrainingConfig: .*{sentence}"):
        TrainingConfig(**wrong)


def test_whole_numbers_are_accepted_where_a_float_is_meant() -> None:
    assert TrainingConfig(minutes=2, grad_clip=1).minutes == 2


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name: str) -> None:
    chosen = preset(name)
    for config in (chosen.model, chosen.training):
        assert from_dict(type(config), json.loads(json.dumps(to_dict(config)))) == config


def test_the_shakespeare_preset_is_the_recipe() -> None:
    chosen = preset("shakespeare-char")
    model, training = chosen.model, chosen.training
    assert (model.n_layer, model.n_head, model.n_embd, model.block_size) == (4, 4, 128, 64)
    assert (model.dropout, training.batch_size, training.steps) == (0.0, 12, 2000)
    assert (training.learning_rate, training.min_learning_rate) == (1e-3, 1e-4)
    assert (training.warmup_steps, training.weight_decay, training.grad_clip) == (100, 0.1, 1.0)
    assert (training.beta1, training.beta2) == (0.9, 0.99)
    assert (training.validation_fraction, training.tokenizer) == (0.1, "char")


def test_an_unknown_preset_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown preset 'shakespear'; did you mean 'shakespeare-"):
        preset("shakespear")
    with pytest.raises(ValueError, match="unknown preset 'zzz'; known are default, "):
        preset("zzz")


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="GPTConfig: unknown name 'zz'; known are vocab_size, "):
        from_dict(GPTConfig, {"zz": 2})
    with pytest.raises(ValueError, match="unknown name 'warm_up_steps'; did you mean 'warmup_ste"):
        from_dict(TrainingConfig, {"warm_up_steps": 2})


def test_the_inner_width_follows_the_activation() -> None:
    assert GPTConfig(n_embd=768).mlp_width == 3072
    assert GPTConfig(n_embd=576, n_head=9, activation="swiglu").mlp_width == 1536
    assert GPTConfig(n_embd=16, n_head=2, activation="swiglu").mlp_width == 64
