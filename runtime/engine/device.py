"""The machine under the engine: BLAS, compute type, Metal limits. Import before `mlx.core`.

Everything that differs between Metal, CUDA and a CPU is in these few functions.
"""

import ctypes
import hashlib
import platform
import sys

if sys.platform == "linux":
    try:
        # The CPU wheel bundles a reference BLAS; with Debian's OpenBLAS loaded first its symbols
        # win, and float32 matrix products run 15 to 30 times faster.
        ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        pass

from importlib.metadata import version  # noqa: E402

import mlx.core as mx  # noqa: E402

_CACHE_SHARE = 0.1  # of the working set may be kept as free buffers for reuse
_CACHE_BYTES = 1 << 30  # where the machine does not tell its working set


def is_gpu() -> bool:
    """Whether MLX computes on Metal or CUDA."""
    return bool(mx.default_device() == mx.gpu)


def compute_dtype() -> mx.Dtype | None:
    """What weights are cast to, or None to keep them: half precision is slow on a CPU."""
    return None if is_gpu() else mx.float32


def limit_memory() -> None:
    """Bound the buffers MLX keeps for reuse, and on Metal wire what the system recommends.

    Without a cache limit a server's pool of free buffers only grows (mlx issue 3350). Unwired
    weights are paged out under pressure, and every token then waits for the disk.
    """
    working_set = mx.device_info().get("max_recommended_working_set_size")
    if isinstance(working_set, int):
        mx.set_cache_limit(int(working_set * _CACHE_SHARE))
        if mx.metal.is_available():
            mx.set_wired_limit(working_set)
    else:
        mx.set_cache_limit(_CACHE_BYTES)


def name() -> str:
    """The device in words, such as "Apple M4 Max" or the CPU's architecture."""
    return str(mx.device_info().get("device_name") or platform.machine())


def fingerprint() -> str:
    """Changes whenever equal seeds may give other tokens: with the build and the device."""
    parts = (version("mlx"), version("mlx-lm"), str(mx.default_device()), name())
    return "fp_" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:10]
