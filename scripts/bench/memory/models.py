"""Random models with the four kinds of caches: `python -m scripts.bench.memory.models FOLDER KIND`.

They draw whole characters only, as trained models nearly always do, and pieces of words in any
order: text that is tokenised otherwise than it was drawn.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.bench.memory.recording import tools_and_texts
from scripts.bench.random_model import LLAMA_20M, made_up_words, write_model, write_tokenizer

_VOCAB_SIZE = 8192
_CONTEXT = 40960
_WINDOW = 512

_SHAPE = {name: LLAMA_20M[name] for name in ("hidden_size", "num_hidden_layers", "rms_norm_eps")}
_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "full": LLAMA_20M,
    "window": {
        **_SHAPE,
        "model_type": "gemma3_text",
        "intermediate_size": 1152,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "query_pre_attn_scalar": 64,
        "sliding_window": _WINDOW,
        "sliding_window_pattern": 5,
    },
    "hybrid": {
        "model_type": "lfm2",
        "hidden_size": 384,
        "num_hidden_layers": 10,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 384,
        "block_ff_dim": 1152,
        "block_multiple_of": 32,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "full_attn_idxs": [2, 5, 8],
    },
    "latent": {
        **_SHAPE,
        "model_type": "deepseek_v3",
        "intermediate_size": 1152,
        "moe_intermediate_size": 1152,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "q_lora_rank": 192,
        "kv_lora_rank": 128,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
        "qk_nope_head_dim": 64,
        "n_routed_experts": 4,
        "first_k_dense_replace": 10,
        "attention_bias": False,
        "rope_theta": 10000.0,
    },
}
# Where many long prompts are read, and it is not the time that counts.
_SMALL = {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 256}
_DEEP = {"hidden_size": 256, "num_hidden_layers": 16, "intermediate_size": 512}


# With the proportions of a real model of some billion parameters: attending to 2,400 tokens is an
# eighth of the work that each token takes, in few heads. Of a narrow model it is more than half,
# and late turns are slow for that alone.
_WIDE: Mapping[str, Mapping[str, Any]] = {
    "full": {"num_attention_heads": 3, "num_key_value_heads": 1},
    "window": {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 128},
    "hybrid": {"num_attention_heads": 3, "num_key_value_heads": 1, "full_attn_idxs": [2, 4]},
    "latent": {"num_attention_heads": 3, "num_key_value_heads": 3},
}
_WIDTH = {"num_hidden_layers": 5, "intermediate_size": 12288, "block_ff_dim": 12288}


def config_of(name: str) -> dict[str, Any]:
    """Of a kind, narrow or `wide`; or of full attention as `small` or `deep`."""
    if name.startswith("wide-"):
        kind = name.removeprefix("wide-")
        return {**config_of(kind), **_WIDTH, **_WIDE[kind]}
    if name in ("small", "deep"):
        sizes = {"num_attention_heads": 4} | (_SMALL if name == "small" else _DEEP)
        return LLAMA_20M | sizes | {"max_position_embeddings": _CONTEXT}
    return {**_CONFIGS[name], "max_position_embeddings": _CONTEXT}


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    words = [f" {word}" for word in made_up_words(3 * _VOCAB_SIZE)]
    vocab_size = write_tokenizer(folder, [*words, *tools_and_texts() * 8], _VOCAB_SIZE)
    write_model(folder, config_of(name) | {"vocab_size": vocab_size}, silent=_silent(folder))


def _silent(folder: Path) -> list[int]:
    """Tokens that are no text of their own: of byte-level BPE, those beyond ASCII."""
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    return [number for token, number in vocab.items() if not _is_text(token)]


def _is_text(token: str) -> bool:
    return all(each in "ĠĊ" or (each.isascii() and each.isprintable()) for each in token)


if __name__ == "__main__":
    main()
