"""Small real models: random float32 checkpoints with a real tokenizer, made where a test needs one.

Called by the fixtures of the tests; `scripts.bench.random_model` writes the files.
"""

from pathlib import Path
from typing import Any

from scripts.bench.random_model import write_model, write_tokenizer

_TEXT = [
    "The quick brown fox jumps over the lazy dog.",
    "Models run in unified memory; every prompt is read once and answered word for word.",
    "Grüße aus Köln! 日本語のテキスト 🙂🚀 — naïve café, Ελληνικά, русский текст.",
    "def reverse(text: str) -> str:\n    return text[::-1]\n",
]


def make_llama(folder: Path, **overrides: Any) -> Path:
    """Plain attention with a growing KV cache; 2 layers."""
    return _write(
        folder,
        {
            "model_type": "llama",
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "intermediate_size": 128,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": 8192,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
        }
        | overrides,
    )


def make_gemma3(folder: Path, **overrides: Any) -> Path:
    """Sliding-window layers between full ones; the window is short, so tests rotate it."""
    return _write(
        folder,
        {
            "model_type": "gemma3_text",
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "intermediate_size": 128,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 32,
            "sliding_window_pattern": 3,
            "max_position_embeddings": 8192,
        }
        | overrides,
    )


def make_mamba2(folder: Path, **overrides: Any) -> Path:
    """A state-space model: its cache is a state of fixed size."""
    return _write(
        folder,
        {
            "model_type": "mamba2",
            "num_heads": 8,
            "head_dim": 16,
            "hidden_size": 64,
            "intermediate_size": 128,
            "state_size": 16,
            "num_hidden_layers": 2,
            "layer_norm_epsilon": 1e-5,
            "conv_kernel": 4,
            "n_groups": 1,
            "use_bias": False,
            "use_conv_bias": True,
            "tie_word_embeddings": True,
            "time_step_limit": [0.0, 1e9],
            "time_step_rank": "auto",
            "max_position_embeddings": 8192,
        }
        | overrides,
    )


def make_lfm2(folder: Path, **overrides: Any) -> Path:
    """A hybrid: convolution states and attention in turn."""
    return _write(
        folder,
        {
            "model_type": "lfm2",
            "hidden_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "norm_eps": 1e-5,
            "conv_bias": False,
            "conv_L_cache": 3,
            "block_dim": 64,
            "block_ff_dim": 128,
            "block_multiple_of": 32,
            "block_ffn_dim_multiplier": 1.0,
            "block_auto_adjust_ff_dim": False,
            "full_attn_idxs": [1, 3],
        }
        | overrides,
    )


def make_llama4(folder: Path, **overrides: Any) -> Path:
    """Chunked attention, whose cache cannot merge: its rows run one at a time."""
    text = {
        "model_type": "llama4_text",
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "intermediate_size": 64,
        "intermediate_size_mlp": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "rope_theta": 10000.0,
        "attention_chunk_size": 32,
        "interleave_moe_layer_step": 2,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "use_qk_norm": True,
        "attention_bias": False,
        "rope_scaling": None,
        "tie_word_embeddings": True,
    }
    return _write(folder, {"model_type": "llama4", "text_config": text} | overrides)


def make_tokenizer(folder: Path, vocab_size: int = 512) -> int:
    """A byte-level BPE with ChatML markers. Returns the number of tokens it really has."""
    return write_tokenizer(folder, _TEXT * 4, vocab_size)


def _write(folder: Path, config: dict[str, Any]) -> Path:
    """Save a random model of this config; `seed` and `vocab_size` may be among the overrides."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = config.pop("seed", 0)
    vocab_size = max(make_tokenizer(folder), config.pop("vocab_size", None) or 0)
    config.get("text_config", config)["vocab_size"] = vocab_size
    write_model(folder, config, seed)
    return folder
