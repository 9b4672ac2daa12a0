"""Random rows of every ggml type: bytes as llama.cpp might have written them.

gguf's own `quantize` writes the simple types only; of the others, any bytes are a block as long as
the halves that scale it are numbers of a usual size.
"""

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import quantize

# Where the halves are within a block: ggml-common.h.
_HALVES = {
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
    "IQ3_S": (0,),
    "IQ3_XXS": (0,),
    "IQ2_S": (0,),
    "IQ2_XS": (0,),
    "IQ2_XXS": (0,),
    "IQ1_S": (0,),
}


def random_rows(kind: str, num_rows: int, num_columns: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(num_rows, bytes of a row)."""
    generator = np.random.default_rng(seed)
    wanted = GGMLQuantizationType[kind]
    if kind not in _HALVES:
        numbers = generator.normal(0, 0.05, (num_rows, num_columns)).astype(np.float32)
        return quantize(numbers, wanted).view(np.uint8)
    num_elements, num_bytes = GGML_QUANT_SIZES[wanted]
    shape = (num_rows, num_columns // num_elements, num_bytes)
    blocks = generator.integers(0, 256, shape, dtype=np.uint8)
    for at in _HALVES[kind]:
        halves = generator.normal(0, 0.01, shape[:2]).astype("<f2")
        blocks[..., at : at + 2] = halves[..., None].view(np.uint8)
    return blocks.reshape(num_rows, -1)
