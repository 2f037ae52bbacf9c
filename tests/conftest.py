"""Hypothesis profiles, once for all tests."""

from hypothesis import HealthCheck, settings

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
