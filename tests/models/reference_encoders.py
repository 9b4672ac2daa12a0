"""The encoders once more, in numpy: one text at a time, no padding, straight from the papers.

Written from the published definitions and independent of `runtime.engine.encoders`: the tests hold
both equal. Weights are those of a Hugging Face checkpoint, under its own names.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array: TypeAlias = NDArray[np.float64]
Config: TypeAlias = dict[str, Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def hidden_states(folder: Path, tokens: list[int], segments: list[int] | None = None) -> Array:
    """Of the last layer, length x size."""
    config, weights = read(folder)
    forward = {
        "bert": _bert,
        "camembert": _bert,
        "roberta": _bert,
        "xlm-roberta": _bert,
        "distilbert": _distilbert,
        "mpnet": _mpnet,
        "nomic_bert": _nomic_bert,
        "modernbert": _modernbert,
        "qwen3": _qwen3,
    }[config["model_type"]]
    prefixes = ("bert.", "roberta.", "mpnet.", "distilbert.", "model.")
    bare = {name: value for name, value in weights.items()}
    for prefix in prefixes:
        bare |= {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    return forward(config, bare, np.array(tokens), np.array(segments or [0] * len(tokens)))


def score(folder: Path, tokens: list[int], segments: list[int]) -> float:
    """A cross-encoder's, as a probability."""
    config, weights = read(folder)
    hidden = hidden_states(folder, tokens, segments)
    match config["model_type"]:
        case "bert":
            pooled = np.tanh(_linear(weights, "bert.pooler.dense", hidden[0]))
            logit = _linear(weights, "classifier", pooled)
        case "camembert" | "mpnet" | "roberta" | "xlm-roberta":
            pooled = np.tanh(_linear(weights, "classifier.dense", hidden[0]))
            logit = _linear(weights, "classifier.out_proj", pooled)
        case "distilbert":
            pooled = np.maximum(_linear(weights, "pre_classifier", hidden[0]), 0)
            logit = _linear(weights, "classifier", pooled)
        case _:
            pooled = hidden.mean(0) if config["classifier_pooling"] == "mean" else hidden[0]
            pooled = _gelu(_linear(weights, "head.dense", pooled))
            logit = _linear(weights, "classifier", _norm(weights, "head.norm", pooled, 1e-5))
    return float(1 / (1 + np.exp(-logit[0])))


def unit(vector: Array) -> Array:
    result: Array = vector / np.linalg.norm(vector)
    return result


def read(folder: Path) -> tuple[Config, dict[str, Array]]:
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    return config, {name: value.astype(np.float64) for name, value in weights.items()}


def _bert(config: Config, w: dict[str, Array], tokens: Any, segments: Any) -> Array:
    places = np.arange(len(tokens))
    if config["model_type"] != "bert":
        is_counted = tokens != config["pad_token_id"]
        places = np.cumsum(is_counted) * is_counted + config["pad_token_id"]
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    x = w["embeddings.word_embeddings.weight"][tokens]
    x = x + w["embeddings.position_embeddings.weight"][places]
    x = x + w["embeddings.token_type_embeddings.weight"][segments]
    x = _norm(w, "embeddings.LayerNorm", x, eps)
    for number in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{number}."
        q, k, v = (
            _linear(w, f"{at}attention.self.{part}", x) for part in ("query", "key", "value")
        )
        seen = _attention(q, k, v, heads)
        x = x + _linear(w, f"{at}attention.output.dense", seen)
        x = _norm(w, f"{at}attention.output.LayerNorm", x, eps)
        inner = _gelu(_linear(w, f"{at}intermediate.dense", x))
        x = _norm(w, f"{at}output.LayerNorm", x + _linear(w, f"{at}output.dense", inner), eps)
    return x


def _mpnet(config: Config, w: dict[str, Array], tokens: Any, segments: Any) -> Array:
    """https://arxiv.org/abs/2004.09297, with the distances of https://arxiv.org/abs/1910.10683"""
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    is_counted = tokens != 1
    x = w["embeddings.word_embeddings.weight"][tokens]
    x = x + w["embeddings.position_embeddings.weight"][np.cumsum(is_counted) * is_counted + 1]
    x = _norm(w, "embeddings.LayerNorm", x, eps)
    places = np.arange(len(tokens))
    further = places - places[:, None]
    far = 8 + (np.log2(np.maximum(np.abs(further), 1) / 8) * 2 + 1e-9).astype(int)
    buckets = np.where(np.abs(further) < 8, np.abs(further), np.minimum(far, 15))
    biases = w["encoder.relative_attention_bias.weight"][buckets + 16 * (further > 0)]
    for number in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{number}."
        q, k, v = (_linear(w, f"{at}attention.attn.{part}", x) for part in "qkv")
        seen = _attention(q, k, v, heads, biases=biases)
        x = x + _linear(w, f"{at}attention.attn.o", seen)
        x = _norm(w, f"{at}attention.LayerNorm", x, eps)
        inner = _gelu(_linear(w, f"{at}intermediate.dense", x))
        x = _norm(w, f"{at}output.LayerNorm", x + _linear(w, f"{at}output.dense", inner), eps)
    return x


def _distilbert(config: Config, w: dict[str, Array], tokens: Any, segments: Any) -> Array:
    """https://arxiv.org/abs/1910.01108"""
    x = w["embeddings.word_embeddings.weight"][tokens]
    x = x + w["embeddings.position_embeddings.weight"][: len(tokens)]
    x = _norm(w, "embeddings.LayerNorm", x, 1e-12)
    for number in range(config["n_layers"]):
        at = f"transformer.layer.{number}."
        q, k, v = (_linear(w, f"{at}attention.{part}_lin", x) for part in "qkv")
        seen = _attention(q, k, v, config["n_heads"])
        x = _norm(w, f"{at}sa_layer_norm", x + _linear(w, f"{at}attention.out_lin", seen), 1e-12)
        inner = _gelu(_linear(w, f"{at}ffn.lin1", x))
        x = _norm(w, f"{at}output_layer_norm", x + _linear(w, f"{at}ffn.lin2", inner), 1e-12)
    return x


def _nomic_bert(config: Config, w: dict[str, Array], tokens: Any, segments: Any) -> Array:
    eps, heads = config["layer_norm_epsilon"], config["n_head"]
    base, share = config["rotary_emb_base"], config["rotary_emb_fraction"]
    x = w["embeddings.word_embeddings.weight"][tokens]
    x = _norm(w, "emb_ln", x + w["embeddings.token_type_embeddings.weight"][segments], eps)
    for number in range(config["n_layer"]):
        at = f"encoder.layers.{number}."
        q, k, v = np.split(_linear(w, f"{at}attn.Wqkv", x), 3, axis=-1)
        seen = _attention(q, k, v, heads, partial(_rotate, base=base, share=share))
        x = _norm(w, f"{at}norm1", x + _linear(w, f"{at}attn.out_proj", seen), eps)
        inner = _linear(w, f"{at}mlp.fc11", x) * _silu(_linear(w, f"{at}mlp.fc12", x))
        x = _norm(w, f"{at}norm2", x + _linear(w, f"{at}mlp.fc2", inner), eps)
    return x


def _modernbert(config: Config, w: dict[str, Array], tokens: Any, segments: Any) -> Array:
    eps, heads = config["norm_eps"], config["num_attention_heads"]
    x = _norm(w, "embeddings.norm", w["embeddings.tok_embeddings.weight"][tokens], eps)
    places = np.arange(len(tokens))
    near = np.abs(places[:, None] - places) <= config["local_attention"] // 2
    for number in range(config["num_hidden_layers"]):
        at = f"layers.{number}."
        is_global = number % config["global_attn_every_n_layers"] == 0
        base = config["global_rope_theta" if is_global else "local_rope_theta"]
        normed = x if number == 0 else _norm(w, f"{at}attn_norm", x, eps)
        q, k, v = np.split(_linear(w, f"{at}attn.Wqkv", normed), 3, axis=-1)
        may_see = None if is_global else near
        seen = _attention(q, k, v, heads, partial(_rotate, base=base), may_see)
        x = x + _linear(w, f"{at}attn.Wo", seen)
        up, gate = np.split(_linear(w, f"{at}mlp.Wi", _norm(w, f"{at}mlp_norm", x, eps)), 2, -1)
        x = x + _linear(w, f"{at}mlp.Wo", _gelu(up) * gate)
    return _norm(w, "final_norm", x, eps)


def _qwen3(config: Config, w: dict[str, Array], tokens: Any, segments: Any) -> Array:
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    eps, base = config["rms_norm_eps"], config["rope_theta"]
    x = w["embed_tokens.weight"][tokens]
    causal = np.tril(np.ones((len(tokens), len(tokens)), bool))

    def rms(name: str, value: Array) -> Array:
        root = np.sqrt((value**2).mean(-1, keepdims=True) + eps)
        return np.asarray(value / root * w[f"{name}.weight"])

    for number in range(config["num_hidden_layers"]):
        at = f"layers.{number}."
        normed = rms(f"{at}input_layernorm", x)
        parts = []
        for part, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            split = _linear(w, f"{at}self_attn.{part}_proj", normed).reshape(len(tokens), count, -1)
            if part != "v":
                split = rms(f"{at}self_attn.{part}_norm", split)
            parts.append(split.repeat(heads // count, axis=1).reshape(len(tokens), -1))
        q, k, v = parts
        seen = _attention(q, k, v, heads, partial(_rotate, base=base), causal)
        x = x + _linear(w, f"{at}self_attn.o_proj", seen)
        normed = rms(f"{at}post_attention_layernorm", x)
        inner = _silu(_linear(w, f"{at}mlp.gate_proj", normed))
        inner = inner * _linear(w, f"{at}mlp.up_proj", normed)
        x = x + _linear(w, f"{at}mlp.down_proj", inner)
    return rms("norm", x)


def _attention(
    q: Array,
    k: Array,
    v: Array,
    heads: int,
    rotate: Callable[[Array], Array] = lambda head: head,
    may_see: NDArray[np.bool_] | None = None,
    biases: Array | None = None,
) -> Array:
    results = []
    split = (np.split(part, heads, axis=-1) for part in (q, k, v))
    for head, (query, key, value) in enumerate(zip(*split, strict=True)):
        scores = rotate(query) @ rotate(key).T / math.sqrt(query.shape[-1])
        if biases is not None:  # queries x keys x heads
            scores = scores + biases[..., head]
        if may_see is not None:
            scores = np.where(may_see, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        results.append(weights / weights.sum(-1, keepdims=True) @ value)
    return np.concatenate(results, axis=-1)


def _rotate(head: Array, base: float, share: float = 1.0) -> Array:
    """Each half of the rotated part holds one coordinate of the same points."""
    rotated = int(head.shape[-1] * share)
    half = rotated // 2
    angles = np.arange(len(head))[:, None] * base ** (-np.arange(half) / half)
    a, b, rest = head[:, :half], head[:, half:rotated], head[:, rotated:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], axis=-1)


def _linear(w: dict[str, Array], name: str, x: Array) -> Array:
    result: Array = x @ w[f"{name}.weight"].T
    return result + w[f"{name}.bias"] if f"{name}.bias" in w else result


def _norm(w: dict[str, Array], name: str, x: Array, eps: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * w[f"{name}.weight"]
    return np.asarray(scaled + w.get(f"{name}.bias", np.zeros(1)))


def _gelu(x: Array) -> Array:
    return np.asarray(x * 0.5 * (1 + _erf(x / math.sqrt(2))))


def _silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))
