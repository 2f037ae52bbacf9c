"""`warmup`: everything that a first training step would compile, compiled now.

A kernel is compiled when it is first called, for each dtype, and kept on disk for the next process.
Whoever minds these seconds, as an image being built or a measurement, calls this before.
"""

from __future__ import annotations

from tensorlite import nn, optim
from tensorlite.autograd import no_grad
from tensorlite.creation import arange, zeros
from tensorlite.dtypes import dtype, float32
from tensorlite.nn import functional as F
from tensorlite.tensor import Tensor

# What is compiled does not depend on sizes, but several rows and one take different kernels.
VOCABULARY, WIDTH, HEADS, ROWS = 64, 32, 2, 16


def warmup(*dtypes: dtype) -> None:
    """Compile, or load from the disk, the kernels of training a GPT and of writing with it.

    dtypes: of the weights; float32 if none is given
    """
    for kind in dtypes or (float32,):
        for llama, bias in ((False, True), (False, False), (True, False)):
            model = _Layer(llama, bias).to(kind)
            optimizer = optim.AdamW(model.parameters(), lr=1e-3)
            ids = arange(ROWS)
            x = model(ids)
            F.linear_cross_entropy(x, model.tokens.weight, ids).backward()
            F.cross_entropy(F.linear(model(ids), model.tokens.weight), ids).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with no_grad():
                large = zeros(1 << 16, dtype=kind)  # what is small NumPy adds
                large + large
                keys = zeros(1, HEADS, ROWS, WIDTH // HEADS, dtype=kind)  # of a cache
                keys.index_copy_(2, ids, keys.clone())
                for rows in (ROWS, 1):
                    F.linear(model(ids[:rows]), model.tokens.weight)


class _Layer(nn.Module):
    """The parts of a GPT-2 block, or of a Llama block, in a row."""

    def __init__(self, llama: bool, bias: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.norm = nn.RMSNorm(WIDTH) if llama else nn.LayerNorm(WIDTH, bias=bias)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=bias)
        self.gate = nn.Linear(WIDTH, WIDTH, bias=False) if llama else None
        self.up = nn.Linear(WIDTH, WIDTH, bias=bias)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (T) -> (T, C)"""
        x = self.norm(self.tokens(ids))
        heads = self.qkv(x).view(1, -1, 3, HEADS, WIDTH // HEADS)  # (1, T, 3, H, D)
        q, k, v = (heads[:, :, i].transpose(1, 2) for i in range(3))  # (1, H, T, D)
        x = x + F.causal_attention(q, k, v).transpose(1, 2).reshape(-1, WIDTH)
        up = self.up(x)
        return F.gelu(up, approximate="tanh") if self.gate is None else F.swiglu(self.gate(x), up)
