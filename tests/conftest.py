"""Hypothesis profiles, once for all tests; and fixtures that several files use."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import tensorlite

# The deadline would time the compiler, and the first example of a kernel compiles it.
settings.register_profile(
    "tensorlite",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("thorough", settings.get_profile("tensorlite"), max_examples=500)
settings.load_profile("tensorlite")


@pytest.fixture
def all_threads() -> Iterator[int]:
    """How many threads there are; whatever a test makes of the number is undone."""
    before = tensorlite.get_num_threads()
    yield before
    tensorlite.set_num_threads(before)
