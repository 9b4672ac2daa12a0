"""What mlx-lm's modules do not stand, as far as it is known: the probe has to find all of it.

A new mlx-lm may mend some, and a test then fails until its line here is deleted.
"""

import mlx.core as mx

from registry.checkpoint.exactness import Exactness

_NEEDS_METAL = frozenset({"bitnet", "muse_spark"})  # they have kernels that are written in Metal

# Their convolution or state reads the padding of the shorter prompts.
_READS_PADDING = frozenset(
    {
        *("mamba", "falcon_mamba", "jamba", "rwkv7", "recurrent_gemma", "baichuan_m1"),
        *("olmo_hybrid", "bailing_moe_linear", "longcat_flash_ngram"),
    }
)
# Their cache has no merged form, or their positions or blocks are those of one row.
_SINGLE_ROW = frozenset(
    {
        *("llama4", "deepseek_v41", "phi3small", "nemotron-nas"),
        *("afm7", "gpt_bigcode", "minimax_m3_vl"),
    }
)
# Their mask is another one for a prompt that is read in pieces.
_READS_WHOLE = frozenset({"plamo3", "phi3small"})


def is_computable(name: str) -> bool:
    """Whether this machine can run the checkpoint of this name at all."""
    return name not in _NEEDS_METAL or mx.metal.is_available()


def exactness(name: str) -> Exactness:
    """What is exact for the checkpoint of this name."""
    return Exactness(
        merged=name not in _SINGLE_ROW,
        padded=name not in _SINGLE_ROW | _READS_PADDING,
        chunked=name not in _READS_WHOLE,
    )


def names() -> frozenset[str]:
    """All that have a fault."""
    return _NEEDS_METAL | _READS_PADDING | _SINGLE_ROW | _READS_WHOLE
