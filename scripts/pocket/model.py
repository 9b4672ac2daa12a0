"""Pocket's architecture, a llama that any MLX program loads, and its untrained weights."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import Tokenizer

from scripts.pocket.tokenizer import CONTEXT_TOKENS, END, PAD, VOCAB_SIZE, write_json

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 704,
    "max_position_embeddings": CONTEXT_TOKENS,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}

# How it is sampled where nobody says how: less says the same each time, more errs.
SERVED = {"temperature": 0.3, "top_p": 0.95}

Weight = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def write_config(folder: Path) -> None:
    """The model's configuration, with the special tokens of the tokenizer that lies there."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = {"eos_token_id": tokenizer.token_to_id(END), "pad_token_id": tokenizer.token_to_id(PAD)}
    write_json(folder / "config.json", CONFIG | ids)
    write_json(folder / "generation_config.json", {**ids, "do_sample": True, **SERVED})


def normal(random: np.random.Generator, rows: int, columns: int, scale: float) -> Weight:
    return random.normal(0.0, scale, (rows, columns))


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in dict(tree_flatten(model.parameters())).items()}


def begin_as_copiers(weights: dict[str, Weight]) -> None:
    """Every head writes back what it reads: its output matrix is its value matrix transposed.

    From a plain start a model of this size hardly learns to copy. After 250 steps of nothing but
    repeated random tokens its loss was 4.4 (guessing: 7.6); from here it was 2.3, and falling fast.
    """
    head_dim, shared = (
        CONFIG["head_dim"],
        CONFIG["num_attention_heads"] // CONFIG["num_key_value_heads"],
    )
    for layer in range(CONFIG["num_hidden_layers"]):
        attention = f"model.layers.{layer}.self_attn."
        values = weights[attention + "v_proj.weight"].reshape(-1, head_dim, CONFIG["hidden_size"])
        heads = np.repeat(values, shared, axis=0).reshape(-1, CONFIG["hidden_size"])
        weights[attention + "o_proj.weight"] = heads.T


def new_model(seed: int) -> Model:
    """An untrained Pocket, its residual layers scaled down by their number (GPT-2, section 2.3)."""
    model = Model(ModelArgs.from_dict(CONFIG))
    random = np.random.default_rng(seed)
    weights: dict[str, Weight] = {}
    for name, shape in shapes(model).items():
        if len(shape) == 2:
            rows, columns = shape
            depth = (2 * CONFIG["num_hidden_layers"]) ** -0.5
            is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
            scale = columns**-0.5 * (depth if is_output else 1.0)
            weights[name] = normal(random, rows, columns, scale)
        else:
            weights[name] = np.ones(shape)

    # Tied embeddings of deviation 0.5 make logits of deviation 1 with a final norm of 1/8.
    embedding = normal(random, CONFIG["vocab_size"], CONFIG["hidden_size"], 0.5)
    embedding[:, 0] = 2.0  # the same for all tokens, so that a head can attend by position alone
    weights["model.embed_tokens.weight"] = embedding
    weights["model.norm.weight"] = np.full(CONFIG["hidden_size"], 1 / 8)

    begin_as_copiers(weights)
    model.load_weights([(name, mx.array(w.astype(np.float32))) for name, w in weights.items()])
    return model
