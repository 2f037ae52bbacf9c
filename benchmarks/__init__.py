"""tensorlite against NumPy and PyTorch, both sides in one run: python -m benchmarks."""

import os

# NumPy's threads look for work for 100 ms after their last, on the core that the next side in turn
# needs: PyTorch's products then took 16 ms in place of .3, and ours had no helper. 2^20 cycles,
# less than half a millisecond, are enough between two calls. Read as NumPy is imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
