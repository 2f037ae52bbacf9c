"""tensorlite against NumPy and PyTorch, both sides in one run: python -m benchmarks."""
