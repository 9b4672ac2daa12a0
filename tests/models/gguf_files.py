"""GGUF files of the tests' own models, written as llama.cpp's convert_hf_to_gguf.py writes them."""

import json
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(
    folder: Path, path: Path, kind: str = "F32", pre: str = "gpt-2", **extra: Any
) -> Path:
    """The model of an MLX folder as one file; matrices in `kind`. `extra` is further metadata."""
    config = json.loads((folder / "config.json").read_bytes())
    architecture = config["model_type"]
    writer = gguf.GGUFWriter(path, architecture)
    num_heads = config["num_attention_heads"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(num_heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    head_dim = config.get("head_dim") or config["hidden_size"] // num_heads
    writer.add_rope_dimension_count(head_dim)
    writer.add_key_length(head_dim)
    if (scaling := config.get("rope_scaling")) and scaling["rope_type"] == "llama3":
        factors = _llama3_factors(config["rope_theta"], head_dim, scaling["factor"])
        writer.add_tensor("rope_freqs.weight", factors)
    elif scaling:
        writer.add_string(f"{architecture}.rope.scaling.type", scaling["rope_type"])
        writer.add_rope_scaling_factor(scaling["factor"])
        if original := scaling.get("original_max_position_embeddings"):
            writer.add_rope_scaling_orig_ctx_len(original)
    _add_tokenizer(writer, folder, pre)
    for key, value in extra.items():
        writer.add_key_value(key.replace("__", "."), value, gguf.GGUFValueType.get_type(value))
    weights: Any = mx.load(str(folder / "model.safetensors"))
    for name, tensor in weights.items():
        value = np.array(tensor.astype(mx.float32))
        if architecture in ("llama", "smollm3") and ".q_proj." in name:
            value = _permute(value, num_heads)
        if architecture in ("llama", "smollm3") and ".k_proj." in name:
            value = _permute(value, config["num_key_value_heads"])
        wanted = GGMLQuantizationType[kind if value.ndim > 1 else "F32"]
        writer.add_tensor(gguf_name(name), quantize(value, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    """What llama.cpp calls a tensor."""
    stem, part = name.rsplit(".", 1)
    if stem in _NAMES:
        return f"{_NAMES[stem]}.{part}"
    _, _, number, layer = stem.split(".", 3)
    return f"blk.{number}.{_NAMES[layer]}.{part}"


def tokenizer_metadata(folder: Path, pre: str) -> dict[str, Any]:
    """What the converter says of a byte-level BPE's tokenizer.json."""
    content = json.loads((folder / "tokenizer.json").read_bytes())
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    ids = dict(content["model"]["vocab"])
    added = {token["content"]: token for token in content["added_tokens"]}
    ids |= {token: entry["id"] for token, entry in added.items()}
    tokens = sorted(ids, key=lambda token: ids[token])
    kinds = [1 if token not in added else 3 if added[token]["special"] else 4 for token in tokens]
    merges = [m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": ids[config["eos_token"]],
        "tokenizer.ggml.padding_token_id": ids[config["pad_token"]],
        "tokenizer.chat_template": config["chat_template"],
    }


def _add_tokenizer(writer: Any, folder: Path, pre: str) -> None:
    metadata = tokenizer_metadata(folder, pre)
    for key, value in metadata.items():
        match value:
            case int():
                writer.add_uint32(key, value)
            case str():
                writer.add_string(key, value)
            case list():
                writer.add_array(key, value)


def _permute(weights: Any, num_heads: int) -> Any:
    halves = weights.reshape(num_heads, 2, weights.shape[0] // num_heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def _llama3_factors(base: float, dims: int, factor: float) -> Any:
    """The loop of the converter, number by number."""
    factors = []
    for index in range(0, dims, 2):
        wave = 2 * np.pi * base ** (index / dims)
        if wave < 8192 / 4.0:
            factors.append(1.0)
        elif wave > 8192 / 1.0:
            factors.append(factor)
        else:
            smooth = (8192 / wave - 1.0) / (4.0 - 1.0)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)
