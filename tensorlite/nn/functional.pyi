"""nn.functional. Written by tests/stubs.py; do not edit."""

import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensorlite.generator import Generator as Generator
from tensorlite.ops.order import ValuesAndIndices
from tensorlite.tensor import Tensor as Tensor

Dim = builtins.int | Sequence[builtins.int] | None
Sizes = Sequence[builtins.int]
Number = Tensor | builtins.float

def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = ..., reduction: str = ..., pos_weight: Any = ...) -> Any:
    """-w (pos_weight t log p + (1 - t) log(1 - p)) with p = sigmoid(input), t the target."""
def causal_attention(q: Any, k: Any, v: Any, *, scale: builtins.float | None = ..., length: Any = ...) -> Any:
    """Attention in which query i sees the keys j <= i + (S - T): q (B, H, T, D), k, v (B, G, S, D)."""
def cross_entropy(input: Any, target: Any, weight: Any = ..., ignore_index: builtins.int = ..., reduction: str = ..., label_smoothing: builtins.float = ...) -> Any:
    """-log softmax(input)[target]: logits (N, C), (C) or (N, C, ...), classes (N), () or (N, ...)."""
def dropout(input: Any, p: builtins.float = ..., training: builtins.bool = ..., inplace: builtins.bool = ...) -> Any:
    """x with each element kept with probability 1 - p, then divided by 1 - p. Srivastava 2014."""
def embedding(input: Any, weight: Any, padding_idx: builtins.int | None = ...) -> Any:
    """weight[input]: ids (...) of rows in weight (V, C) -> (..., C). The row padding_idx gets no"""
def feed_forward(x: Tensor, up: Number, up_bias: Number | None, down: Number, down_bias: Number | None, activation: str) -> Any:
    """f(x @ up.T + up_bias) @ down.T + down_bias, the two layers of an MLP and f between them."""
def gelu(x: Tensor, approximate: str = ...) -> Tensor:
    """x Phi(x), Phi the normal distribution function; "tanh": x sigmoid(2 u), u = sqrt(2 / pi)"""
def layer_norm(input: Any, normalized_shape: Iterable[builtins.int], weight: Any = ..., bias: Any = ..., eps: builtins.float = ...) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, those of normalized_shape."""
def linear(x: Tensor, weight: Number, bias: Number | None = ...) -> Tensor:
    """x @ weight.T + bias: (..., K), (N, K), (N) -> (..., N)."""
def linear_activation(x: Tensor, weight: Number, bias: Number | None, activation: str) -> Any:
    """activation(x @ weight.T + bias) in one pass: (..., K), (N, K), (N) -> (..., N)."""
def linear_cross_entropy(input: Any, weight: Any, target: Any, *, ignore_index: builtins.int = ..., reduction: str = ..., label_smoothing: builtins.float = ...) -> Any:
    """cross_entropy(input @ weight.T, target), without ever holding all logits."""
def log_softmax(x: Tensor, dim: builtins.int, dtype: Any = ...) -> Tensor:
    """x - log(sum(exp(x))) over dim, without overflow."""
def logsigmoid(x: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))) = min(x, 0) - log(1 + exp(-|x|))"""
def merge_heads(x: Tensor) -> Tensor:
    """Heads side by side: (B, H, T, D) -> (B, T, H D); of what attention returns, a view."""
def mse_loss(input: Any, target: Any, reduction: str = ...) -> Any:
    """(input - target)^2"""
def nll_loss(input: Any, target: Any, weight: Any = ..., ignore_index: builtins.int = ..., reduction: str = ...) -> Any:
    """-input[target]: log-probabilities (N, C), (C) or (N, C, ...), classes (N), () or (N, ...)."""
def norm(input: Tensor, p: builtins.float | str = ..., dim: Dim = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
    """(sum |x|^p)^(1/p) over dim; p = inf: the largest |x|, p = 0: how many are not zero."""
def normalize(input: Any, p: builtins.float = ..., dim: builtins.int = ..., eps: builtins.float = ...) -> Any:
    """x / max(|x|_p, eps), the norm taken over dim."""
def one_hot(tensor: Any, num_classes: builtins.int = ...) -> Any:
    """1 at each id, 0 elsewhere: (...) -> (..., num_classes), int64."""
def pack_weight(weight: Tensor, width: builtins.int | None = ...) -> Tensor:
    """The panels of a weight: (N, K) -> (ceil(N / w), K, w), for `packed_linear`."""
def packed_embedding(panels: Tensor, ids: Number, features: builtins.int) -> Tensor:
    """Rows of the weight by their ids: panels of (features, K), ids (...) -> (..., K)."""
def packed_linear(x: Tensor, panels: Number, bias: Number | None, features: builtins.int, activation: str = ...) -> Any:
    """f(x @ weight.T + bias): (..., K), panels of (features, K), (features) -> (..., features)."""
def pad(input: Tensor, pad: Sizes, mode: str = ..., value: builtins.float | None = ...) -> Tensor:
    """input with a border. pad = (before, after) of the last axis, then of the one before it, ..."""
def relu(x: Tensor) -> Tensor:
    """max(x, 0), and 0 for its derivative at 0."""
def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)^2. So et al. 2021, Primer."""
def rms_norm(input: Any, normalized_shape: Iterable[builtins.int], weight: Any = ..., eps: builtins.float | None = ...) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight over the last axes, those of normalized_shape."""
def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = ..., dropout_p: builtins.float = ..., is_causal: builtins.bool = ..., scale: builtins.float | None = ..., enable_gqa: builtins.bool = ...) -> Any:
    """softmax(query key^T scale + mask) value; see ops.attention. dropout_p zeroes weights."""
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))"""
def silu(x: Tensor) -> Tensor:
    """x sigmoid(x)"""
def softmax(x: Tensor, dim: builtins.int, dtype: Any = ...) -> Tensor:
    """exp(x) / sum(exp(x)) over dim. A row of -inf only gives NaN."""
def split_heads(x: Tensor, heads: Sizes) -> tuple[Tensor, ...]:
    """The heads in x, (B, T, N D), as axes of their own: a view (B, n, T, D) for each n in `heads`."""
def swiglu(gate: Tensor, up: Number) -> Tensor:
    """silu(gate) up. Shazeer 2020."""
def tanh(x: Tensor) -> Tensor:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
def true_divide(x: Tensor, y: Number) -> Tensor:
    """x / y; integers are divided in floating point."""
def unpack_weight(panels: Tensor, features: builtins.int) -> Tensor:
    """The weight (features, K) that was packed into panels."""
