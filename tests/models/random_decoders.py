"""Random checkpoints of decoders that embed or rank, with the fields of their real config.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.models.tiny_encoders import make_wordpiece, write_pooling

SIZE, INNER, LAYERS, HEADS, HEAD_SIZE = 32, 48, 8, 4, 8

# EmbeddingGemma's window of 512 tokens, shrunk: 8 on each side.
GEMMA = {
    "_sliding_window_pattern": 6,
    "architectures": ["Gemma3TextModel"],
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "hidden_activation": "gelu_pytorch_tanh",
    "layer_types": [f"{'sliding' if (n + 1) % 6 else 'full'}_attention" for n in range(LAYERS)],
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": HEAD_SIZE,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": 16,
    "use_bidirectional_attention": True,
}
# gte-Qwen2-7B-instruct's; what its code does is written out, as its name does for us.
GTE = {
    "architectures": ["Qwen2ForCausalLM"],
    "is_causal": False,
    "max_window_layers": LAYERS,
    "rope_theta": 1000000.0,
    "sliding_window": 512,
    "use_sliding_window": False,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "gemma3_text": GEMMA,
    "qwen2": GTE,
    "qwen3": {"architectures": ["Qwen3Model"], "is_causal": False, "rope_theta": 1000000.0},
    "llama": {"architectures": ["LlamaModel"], "is_causal": False, "rope_theta": 500000.0},
    "mistral": {"architectures": ["MistralModel"], "is_causal": False, "sliding_window": None},
}


def make(
    folder: Path, model_type: str, pooling: str = "pooling_mode_mean_tokens", **config: Any
) -> Path:
    """A folder with config, tokenizer, weights and the files of sentence-transformers."""
    vocab_size = make_wordpiece(folder)
    whole: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": vocab_size,
        "hidden_size": SIZE,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "head_dim": HEAD_SIZE,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }
    whole |= CONFIGS[model_type] | config
    (folder / "config.json").write_text(json.dumps(whole))
    save_file(weights_of(whole), folder / "model.safetensors", {"format": "pt"})
    write_pooling(folder, pooling)
    return folder


def weights_of(config: dict[str, Any], seed: int = 7) -> dict[str, Any]:
    """Under the names of Hugging Face's model without a head."""
    draw = np.random.default_rng(seed)
    is_gemma, kv_heads = config["model_type"] == "gemma3_text", config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (config["vocab_size"], SIZE),
        "norm.weight": (SIZE,),
    }
    norms = ["input", "post_attention"]
    norms += ["pre_feedforward", "post_feedforward"] if is_gemma else []
    for layer in (f"layers.{number}" for number in range(config["num_hidden_layers"])):
        for part, heads in (("q", HEADS), ("k", kv_heads), ("v", kv_heads)):
            shapes[f"{layer}.self_attn.{part}_proj.weight"] = (heads * HEAD_SIZE, SIZE)
            if config["model_type"] == "qwen2":
                shapes[f"{layer}.self_attn.{part}_proj.bias"] = (heads * HEAD_SIZE,)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (SIZE, HEADS * HEAD_SIZE)
        if is_gemma or config["model_type"] == "qwen3":
            shapes |= {f"{layer}.self_attn.{part}_norm.weight": (HEAD_SIZE,) for part in "qk"}
        shapes |= {f"{layer}.mlp.{part}_proj.weight": (INNER, SIZE) for part in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = (SIZE, INNER)
        shapes |= {f"{layer}.{norm}_layernorm.weight": (SIZE,) for norm in norms}
    ones = 0 if is_gemma else 1  # Gemma adds the one itself
    return {
        name: (draw.normal(0, 0.3, shape) + ones * name.endswith("norm.weight")).astype(np.float32)
        for name, shape in shapes.items()
    }
