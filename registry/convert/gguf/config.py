"""What a GGUF says of its architecture, as the config.json that mlx-lm wants."""

import math
from typing import Any

import numpy as np

from registry.errors import NotAModel

from .file import GgufFile
from .tokenizer import token_id

ROPE_FREQS = "rope_freqs.weight"  # not a weight: a factor for each frequency of rope


def config_of(file: GgufFile) -> dict[str, Any]:
    """The config.json. Raises NotAModel for what mlx-lm's model of the architecture does not do."""
    refuse_variants(file)
    if (embeddings := file.tensors.get("token_embd.weight")) is None:
        raise NotAModel(f"{file.name} has no token_embd.weight.")
    num_heads = file.count("attention.head_count")
    ends = [token_id(file.metadata, role) for role in ("eos", "eot")]
    return {
        "model_type": file.architecture,
        "hidden_size": file.count("embedding_length"),
        "num_hidden_layers": file.count("block_count"),
        "intermediate_size": file.count("feed_forward_length"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": file.count("attention.head_count_kv", num_heads),
        "head_dim": file.head_dim,
        "rms_norm_eps": file.number("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": file.count("context_length"),
        "rope_theta": file.number("rope.freq_base", 10000.0),
        "rope_scaling": _rope_scaling(file),
        "vocab_size": embeddings.shape[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in file.tensors,
        "bos_token_id": token_id(file.metadata, "bos"),
        "eos_token_id": list(dict.fromkeys(end for end in ends if end is not None)) or None,
    }


def refuse_variants(file: GgufFile) -> None:
    """Raises NotAModel for experts, split files and partly rotated heads."""
    if file.metadata.get(f"{file.architecture}.expert_count"):
        raise NotAModel(f"{file.name} is a mixture of experts; only dense models are read.")
    if file.metadata.get("split.count", 0) not in (0, 1):
        raise NotAModel(f"{file.name} is one of several; join them: llama-gguf-split --merge.")
    if file.count("rope.dimension_count", file.head_dim) != file.head_dim:
        raise NotAModel(f"{file.name} rotates a part of each head only, which is not supported.")


def _rope_scaling(file: GgufFile) -> dict[str, Any] | None:
    if ROPE_FREQS in file.tensors:
        return _llama3_scaling(file)
    kind = file.metadata.get(f"{file.architecture}.rope.scaling.type", "none")
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise NotAModel(f"{file.name} scales its rotation by {kind!r}; linear and yarn are read.")
    scaling = {"rope_type": kind, "factor": file.number("rope.scaling.factor")}
    if kind == "yarn":
        original = file.count("rope.scaling.original_context_length")
        scaling["original_max_position_embeddings"] = original
    return scaling


def _llama3_scaling(file: GgufFile) -> dict[str, Any]:
    """The settings from which llama.cpp's converter computed a factor for each frequency.

    All Llama 3 models share them but `factor`, which is the largest of those.
    """
    factors = np.concatenate(list(file.blocks(file.tensors[ROPE_FREQS]))).ravel()
    factor = float(factors.max())
    base, dims = file.number("rope.freq_base", 10000.0), file.head_dim
    waves = 2 * math.pi * base ** (np.arange(0, dims, 2, dtype=np.float64) / dims)
    smooth = np.clip((8192 / waves - 1) / (4 - 1), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-3):
        raise NotAModel(f"{file.name} has {ROPE_FREQS} that are not those of a Llama 3.")
    return {
        "rope_type": "llama3",
        "factor": round(factor, 3),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
