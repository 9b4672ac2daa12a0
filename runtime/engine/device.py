"""The machine under the engine: BLAS, compute type, Metal limits. Import before `mlx.core`.

Everything that differs between Metal, CUDA and a CPU is in these few functions.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path


def _load_blas() -> None:
    """Load Debian's OpenBLAS before MLX, whose CPU wheel bundles a reference BLAS.

    Its symbols then win, and float32 matrix products run 15 to 30 times faster.
    """
    # OpenBLAS 0.3.21 takes a newer x86 core for a Prescott: 21 GFLOP/s where 150 are possible.
    flags = Path("/proc/cpuinfo").read_text().split()
    core = "SkylakeX" if "avx512vl" in flags else "Haswell" if "avx2" in flags else None
    if core is not None:
        os.environ.setdefault("OPENBLAS_CORETYPE", core)
    with contextlib.suppress(OSError):
        ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)


if sys.platform == "linux":
    _load_blas()

import mlx.core as mx  # noqa: E402
import numpy as np  # noqa: E402

from runtime.memory import machine  # noqa: E402
from runtime.memory.meter import FULL_SHARE, LiveMeter  # noqa: E402

logger = logging.getLogger(__name__)

_CACHE_SHARE = 0.1  # of the working set may be kept as free buffers for reuse
_CACHE_BYTES = 1 << 30  # where the machine does not tell its working set
# What is wired beside the weights, for caches and passes: a share of them, and at least so much.
_WIRED_SHARE, _WIRED_BYTES = 0.5, 4 << 30
# MLX: "[malloc] Unable to allocate 8 bytes.", "[metal::malloc] Attempting to allocate ...", and
# Metal's own "Insufficient Memory (kIOGPUCommandBufferCallbackErrorOutOfMemory)".
_MEMORY_WORDS = ("to allocate", "insufficient memory", "out of memory")


def give_back() -> None:
    """Return to the system what is free here: MLX's buffers, and what, of a CPU's arrays,
    glibc's malloc keeps: several times as much as a small model has in use.
    """
    mx.clear_cache()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another libc
            ctypes.CDLL(None).malloc_trim(0)


def is_gpu() -> bool:
    """Whether MLX computes on Metal or CUDA."""
    return bool(mx.default_device() == mx.gpu)


def compute_dtype(declared: object = None) -> mx.Dtype | None:
    """What weights are cast to, or None to keep them: half precision is slow on a CPU.

    `declared` is config.json's `compute_dtype`. A GGUF's weights are kept in dtypes that hold them
    exactly, some in float32, which would make a GPU compute everything in it.
    """
    if not is_gpu():
        return mx.float32
    return {"float16": mx.float16, "bfloat16": mx.bfloat16}.get(str(declared))


def exp(array: mx.array) -> mx.array:
    """e**array, element by element, in float32.

    On a CPU by numpy, which takes a twentieth of the time that MLX (0.32) takes there: without it
    drawing a token would cost as much as computing its logits. Nothing waits that would not else,
    for a CPU computes at once what it is given.
    """
    if is_gpu():
        return mx.exp(array)
    return mx.array(np.exp(np.asarray(array)))


def logsumexp(array: mx.array) -> mx.array:
    """ln(sum(e**array)) of each row (R, N), as (R, 1)."""
    if is_gpu():
        return mx.logsumexp(array, axis=-1, keepdims=True)
    peak = array.max(axis=-1, keepdims=True)
    return mx.log(exp(array - peak).sum(axis=-1, keepdims=True)) + peak


def limit_memory() -> None:
    """Bound what MLX takes, and of that the buffers it keeps for reuse. Before anything is loaded.

    Without a cache limit a server's pool of free buffers only grows (mlx issue 3350). Beyond its
    memory limit MLX waits for what it computes before it begins more.
    """
    if (working_set := working_set_bytes()) is not None:
        mx.set_memory_limit(int(working_set * FULL_SHARE))
        mx.set_cache_limit(int(working_set * _CACHE_SHARE))
    else:
        mx.set_cache_limit(_CACHE_BYTES)


def wire(weight_bytes: int) -> None:
    """On Metal, keep weights where they are, and what grows beside them as far as there is room.

    What is not wired is paged out under pressure, and every token then waits for the disk. Where
    the system refuses it, the model runs all the same.
    """
    working_set = working_set_bytes()
    if working_set is None or not mx.metal.is_available():
        return
    wanted = weight_bytes + max(_WIRED_BYTES, int(weight_bytes * _WIRED_SHARE))
    try:
        mx.set_wired_limit(min(wanted, working_set))
    except (RuntimeError, ValueError) as error:
        logger.warning("weights are not wired and may be paged out: %s", error)


def working_set_bytes() -> int | None:
    """The most that Metal recommends to use; None where MLX is not told (a CPU)."""
    working_set = mx.device_info().get("max_recommended_working_set_size")
    return working_set if isinstance(working_set, int) else None


def process_bytes() -> int:
    """What this process takes beside the arrays and buffers that MLX counts."""
    counted = mx.get_active_memory() + mx.get_cache_memory()
    return max(0, machine.footprint_bytes(os.getpid()) - counted)


_meter = LiveMeter(working_set_bytes, lambda: [os.getpid()], mx.get_active_memory)


def memory_is_short() -> bool:
    """Whether what is held leaves too little room to go on with all that is computed."""
    return _meter.read().is_short


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a computation failed for want of memory: MLX has no type for that, only words."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(word in words for word in _MEMORY_WORDS)


def name() -> str:
    """The device in words, such as "Apple M4 Max" or the CPU's architecture."""
    return str(mx.device_info().get("device_name") or platform.machine())


def fingerprint() -> str:
    """Changes whenever equal seeds may give other tokens: with the build and the device."""
    parts = (version("mlx"), version("mlx-lm"), str(mx.default_device()), name())
    return "fp_" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:10]
