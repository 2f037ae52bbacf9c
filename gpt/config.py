"""GPTConfig: the shape of a GPT. TrainingConfig: how it is trained. PRESETS: both, by name.

The two are apart because a model outlives its training: reading a checkpoint needs the first,
resuming it the second too. Both check themselves when made, in sentences, so no later code has to:

>>> GPTConfig(n_embd=130, n_head=4)
Traceback (most recent call last):
    ...
ValueError: GPTConfig: n_embd must be a multiple of n_head, got 130 and 4
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Norm = Literal["layer", "rms"]
NormPosition = Literal["pre", "post"]
Position = Literal["learned", "sinusoidal", "rope"]
Activation = Literal["relu", "gelu", "silu", "swiglu", "relu2"]
TokenizerKind = Literal["bpe", "char", "byte"]


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT; the defaults are GPT-2's smallest."""

    vocab_size: int = 50257
    """number of tokens; in `gpt train` the most that a BPE tokenizer may learn"""
    block_size: int = 1024
    """positions the model sees at once"""
    n_layer: int = 12
    """blocks"""
    n_head: int = 12
    """query heads"""
    n_kv_head: int | None = None
    """key and value heads, each shared by n_head / n_kv_head query heads; None: n_head"""
    n_embd: int = 768
    """width of the residual stream"""
    dropout: float = 0.0
    """chance that a feature of the embedding or of a block's output is dropped in training"""
    bias: bool = True
    """biases in linear layers and layer norms"""
    norm: Norm = "layer"
    """layer norm (GPT-2) or RMS norm (Llama)"""
    norm_position: NormPosition = "pre"
    """norm before each sublayer (GPT-2, Llama) or after its residual sum (the first transformer)"""
    position: Position = "learned"
    """learned table, fixed sines, or rotation of queries and keys"""
    activation: Activation = "gelu"
    """nonlinearity of the feed-forward layer"""
    tie_weights: bool = True
    """use the token embedding as output projection too"""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_positive(
            self, "vocab_size", "block_size", "n_layer", "n_head", "n_kv_head", "n_embd"
        )
        _require(self, 0 <= self.dropout < 1, "dropout must lie in [0, 1)", self.dropout)
        if self.n_embd % self.n_head:
            raise ValueError(
                "GPTConfig: n_embd must be a multiple of n_head, "
                f"got {self.n_embd} and {self.n_head}"
            )
        if self.n_head % self.kv_heads:
            raise ValueError(
                "GPTConfig: n_head must be a multiple of n_kv_head, "
                f"got {self.n_head} and {self.n_kv_head}"
            )
        if self.position == "rope" and self.head_width % 2:
            raise ValueError(
                "GPTConfig: position 'rope' rotates pairs and needs an even n_embd / n_head, "
                f"got {self.n_embd} / {self.n_head} = {self.head_width}"
            )

    @property
    def head_width(self) -> int:
        """D, the features of one head."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """The number of key and value heads, n_kv_head with its default filled in."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def mlp_width(self) -> int:
        """Inner width of the feed-forward layer: 4 n_embd; 8/3 n_embd rounded up to a multiple of
        64 for swiglu, whose gate is a third matrix, so that about as many weights result."""
        if self.activation != "swiglu":
            return 4 * self.n_embd
        return -(-8 * self.n_embd // (3 * 64)) * 64


@dataclass(frozen=True)
class TrainingConfig:
    """How a GPT is trained: AdamW, linear warm-up, cosine decay."""

    tokenizer: TokenizerKind = "bpe"
    """units of text: learned pieces, characters, or bytes"""
    steps: int = 1000
    """optimizer steps, the length of the learning-rate schedule"""
    minutes: float | None = None
    """train this long instead of a number of steps; the schedule then follows the clock"""
    batch_size: int = 16
    """windows of block_size tokens per forward pass"""
    accumulate: int = 1
    """forward passes whose gradients make one step"""
    learning_rate: float = 1e-3
    """peak of the schedule, reached after warm-up"""
    min_learning_rate: float = 1e-4
    """end of the schedule"""
    warmup_steps: int = 100
    """steps of linear warm-up, at most a tenth of all steps"""
    beta1: float = 0.9
    """AdamW's memory of the gradient"""
    beta2: float = 0.99
    """AdamW's memory of the squared gradient"""
    weight_decay: float = 0.1
    """AdamW's decay of matrices; gains and biases are not decayed"""
    grad_clip: float = 1.0
    """longest gradient norm let through; 0: any"""
    validation_fraction: float = 0.1
    """the end of the text that is held out"""
    eval_every: int = 250
    """steps between evaluations on held-out text"""
    eval_batches: int = 20
    """batches per evaluation on the way, 0 for all; the last evaluation reads all held-out text"""
    sample_tokens: int = 200
    """length of the text the model writes after each evaluation; 0: none"""
    checkpoint_every: int = 250
    """steps between checkpoints"""
    log_every: int = 10
    """steps between lines of metrics"""
    seed: int = 1337
    """decides weights, batches, dropout and samples"""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_positive(
            self, "steps", "minutes", "batch_size", "accumulate",
            "eval_every", "checkpoint_every", "log_every",
        )  # fmt: skip
        for name in (
            "learning_rate", "min_learning_rate", "warmup_steps", "weight_decay", "grad_clip",
            "eval_batches", "sample_tokens",
        ):  # fmt: skip
            value = getattr(self, name)
            rule = f"{name} must not be negative or infinite"
            _require(self, 0 <= value < float("inf"), rule, value)
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            _require(self, 0 <= value < 1, f"{name} must lie in [0, 1)", value)
        fraction = self.validation_fraction
        _require(self, 0 < fraction < 1, "validation_fraction must lie in (0, 1)", fraction)
        _require(self, 0 <= self.seed < 2**32, "seed must lie in [0, 2**32)", self.seed)


def _check_types(config: object) -> None:
    """Values of a wrong type (a JSON file may hold any) are refused by name."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal:
            options = get_args(kind)
            rule = f"{name} must be one of {' | '.join(options)}"
            _require(config, value in options, rule, value)
            continue
        allowed = get_args(kind) or (kind,)
        number = isinstance(value, int) and not isinstance(value, bool)
        fits = type(value) in allowed or (number and float in allowed)
        wanted = " or ".join("None" if k is type(None) else k.__name__ for k in allowed)
        _require(config, fits, f"{name} must be of type {wanted}", value)


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        holds = value is None or 0 < value < float("inf")
        _require(config, holds, f"{name} must be positive", value)


def _require(config: object, holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{type(config).__name__}: {rule}, got {value!r}")


@dataclass(frozen=True)
class Preset:
    """A named starting point: a model and the way to train it."""

    model: GPTConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)


_LLAMA: dict[str, Any] = {
    "norm": "rms",
    "position": "rope",
    "activation": "swiglu",
    "bias": False,
}
_GPT2_TRAINING = TrainingConfig(
    batch_size=4,
    accumulate=8,
    learning_rate=6e-4,
    min_learning_rate=6e-5,
    warmup_steps=700,
    beta2=0.95,
    steps=10_000,
)

PRESETS: dict[str, Preset] = {
    # Trains within two minutes on two cores and writes words.
    "default": Preset(
        GPTConfig(
            vocab_size=1024, block_size=128, n_layer=4, n_head=4, n_embd=128, **_LLAMA
        ),
        TrainingConfig(steps=700, batch_size=12, eval_every=175, checkpoint_every=100),
    ),
    # The recipe of nanoGPT's README for a laptop without a GPU, with GPT-2's biases.
    "shakespeare-char": Preset(
        GPTConfig(vocab_size=65, block_size=64, n_layer=4, n_head=4, n_embd=128),
        TrainingConfig(tokenizer="char", steps=2000, batch_size=12),
    ),
    # Radford et al. 2019, table 2.
    "gpt2": Preset(GPTConfig(), _GPT2_TRAINING),
    "gpt2-medium": Preset(GPTConfig(n_layer=24, n_head=16, n_embd=1024), _GPT2_TRAINING),
    "gpt2-large": Preset(GPTConfig(n_layer=36, n_head=20, n_embd=1280), _GPT2_TRAINING),
    "gpt2-xl": Preset(GPTConfig(n_layer=48, n_head=25, n_embd=1600), _GPT2_TRAINING),
    # The Llama block at the size of GPT-2: the shape of SmolLM2-135M.
    "llama": Preset(
        GPTConfig(
            vocab_size=49152, block_size=2048, n_layer=30, n_head=9, n_kv_head=3, n_embd=576,
            **_LLAMA,
        ),
        TrainingConfig(batch_size=1, accumulate=8, beta2=0.95, warmup_steps=700, steps=10_000),
    ),
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of that name; ValueError names the nearest one."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name]


Config = TypeVar("Config", GPTConfig, TrainingConfig)


def from_dict(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """The configuration with these values; ValueError names unknown ones and the nearest known.

    >>> from_dict(GPTConfig, {"n_layers": 2})
    Traceback (most recent call last):
        ...
    ValueError: GPTConfig: unknown name 'n_layers'; did you mean 'n_layer'?
    """
    known = [f.name for f in fields(kind)]
    for name in values:
        if name not in known:
            raise ValueError(f"{kind.__name__}: unknown name {name!r}{nearest(name, known)}")
    return kind(**values)


def to_dict(config: GPTConfig | TrainingConfig) -> dict[str, Any]:
    """The inverse of from_dict, ready for JSON."""
    return asdict(config)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what was meant, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
