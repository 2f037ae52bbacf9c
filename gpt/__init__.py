"""A GPT built on tensorlite, as a user would build it: only public names of tensorlite are used.

config -> model, cache -> sampling -> generate      the model and how it writes
tokenizer, corpus -> training, checkpoint -> cli    how it learns
"""

from gpt.cache import KVCache
from gpt.config import PRESETS, GPTConfig, TrainingConfig, preset
from gpt.generate import generate, stream
from gpt.model import GPT
from gpt.reader import Reader
from gpt.sampling import Sampling

__all__ = [
    "GPT",
    "PRESETS",
    "GPTConfig",
    "KVCache",
    "Reader",
    "Sampling",
    "TrainingConfig",
    "generate",
    "preset",
    "stream",
]
