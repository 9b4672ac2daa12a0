"""What a model will cost in memory, what a process holds, and what the machine has left."""

import json
import math
import platform
import sys

import psutil

from .model import Model

PROCESS_BYTES = 160 << 20  # an engine before its weights: Python, MLX and mlx-lm
_MAX_HEADER_BYTES = 32 << 20
_HALF_TYPES = ("BF16", "F16")


def available_bytes() -> int:
    """What new processes can take without swapping."""
    return int(psutil.virtual_memory().available)


def footprint_bytes(pid: int) -> int:
    """What would come back if the process ended: its private memory, or 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        try:
            return int(process.memory_full_info().uss)
        except psutil.AccessDenied:  # macOS tells the private share only to root
            return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def load_bytes(model: Model) -> int:
    """What loading the model will take, weights as the engine holds them.

    Raises ValueError or OSError when a weight file cannot be read.
    """
    weights = model.weight_bytes if _keeps_half_precision() else _float32_bytes(model)
    return weights + PROCESS_BYTES


def _keeps_half_precision() -> bool:
    """Apple Silicon computes in half precision; a CPU engine casts it to float32."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _float32_bytes(model: Model) -> int:
    total = 0
    for path in model.folder.glob("*.safetensors"):
        total += path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _MAX_HEADER_BYTES:
                raise ValueError(f"{path.name}: a header of {length} bytes; the file is damaged")
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__" and tensor["dtype"] in _HALF_TYPES:
                total += 2 * math.prod(tensor["shape"])
    return total
