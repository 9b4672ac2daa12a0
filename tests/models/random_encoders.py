"""Random checkpoints of every encoder, as Hugging Face writes them, to compare with a reference."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.models.encoder_tokenizers import make_byte_bpe, make_mpnet_wordpiece, make_unigram
from tests.models.tiny_encoders import (
    make_bert,
    make_nomic_bert,
    make_wordpiece,
    write_pooling,
)

_LAST_OF_HEAD = (".weight", ".bias", ".out_proj.weight", ".out_proj.bias")
_TOKENIZERS = {
    "camembert": make_unigram,
    "mpnet": make_mpnet_wordpiece,
    "roberta": make_byte_bpe,
    "xlm-roberta": make_unigram,
}
SIZE, INNER, LAYERS, HEADS = 32, 48, 4, 4


def make(folder: Path, architecture: str, *, is_reranker: bool = False, **config: Any) -> Path:
    """A folder with config, tokenizer and weights; embedders have pooling files, too."""
    if architecture == "bert":
        return make_bert(folder, num_labels=int(is_reranker), **config)
    if architecture == "nomic_bert":
        return make_nomic_bert(folder, **config)
    vocab_size = _TOKENIZERS.get(architecture, make_wordpiece)(folder)
    make_parts: dict[str, Callable[[int, bool], tuple[dict[str, Any], dict[str, Any]]]] = {
        "distilbert": _distilbert,
        "mpnet": _mpnet,
        "camembert": partial(_roberta, "Camembert"),
        "roberta": partial(_roberta, "Roberta"),
        "xlm-roberta": partial(_roberta, "XLMRoberta"),
        "modernbert": _modernbert,
        "qwen3": _qwen3,
    }
    named, shapes = make_parts[architecture](vocab_size, is_reranker)
    draw = np.random.default_rng(3)
    weights = {
        name: (draw.normal(0, 0.25, shape) + (len(shape) == 1)).astype(np.float32)
        for name, shape in shapes.items()
    }
    if not is_reranker:
        write_pooling(folder, "pooling_mode_mean_tokens")
    save_file(weights, folder / "model.safetensors")
    general = {"model_type": architecture, "vocab_size": vocab_size, "hidden_size": SIZE}
    general |= {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    general |= {"intermediate_size": INNER}
    (folder / "config.json").write_text(json.dumps(general | named | config))
    return folder


def _roberta(
    classes: str, vocab_size: int, is_reranker: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    shapes: dict[str, Any] = {
        "embeddings.word_embeddings.weight": (vocab_size, SIZE),
        "embeddings.position_embeddings.weight": (130, SIZE),
        "embeddings.token_type_embeddings.weight": (1, SIZE),
    } | _norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _linear(f"{layer}.attention.{part}", SIZE, SIZE)
        shapes |= _linear(f"{layer}.intermediate.dense", INNER, SIZE)
        shapes |= _linear(f"{layer}.output.dense", SIZE, INNER)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm") | _norm(f"{layer}.output.LayerNorm")
    config: dict[str, Any] = {
        "max_position_embeddings": 130,
        "type_vocab_size": 1,
        "pad_token_id": 1,
    }
    config |= {"layer_norm_eps": 1e-5, "architectures": [f"{classes}Model"]}
    if is_reranker:
        shapes = {f"roberta.{name}": shape for name, shape in shapes.items()}
        shapes |= _linear("classifier.dense", SIZE, SIZE) | _linear("classifier.out_proj", 1, SIZE)
        config |= {"architectures": [f"{classes}ForSequenceClassification"]}
    else:  # what such checkpoints hold beside, and nobody uses
        shapes |= _linear("pooler.dense", SIZE, SIZE) | {"embeddings.position_ids": (1, 130)}
    return config, shapes


def _mpnet(vocab_size: int, is_reranker: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    shapes: dict[str, Any] = {
        "embeddings.word_embeddings.weight": (vocab_size, SIZE),
        "embeddings.position_embeddings.weight": (130, SIZE),
        "encoder.relative_attention_bias.weight": (32, HEADS),
    } | _norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for part in "qkvo":
            shapes |= _linear(f"{layer}.attention.attn.{part}", SIZE, SIZE)
        shapes |= _linear(f"{layer}.intermediate.dense", INNER, SIZE)
        shapes |= _linear(f"{layer}.output.dense", SIZE, INNER)
        shapes |= _norm(f"{layer}.attention.LayerNorm") | _norm(f"{layer}.output.LayerNorm")
    config: dict[str, Any] = {"max_position_embeddings": 130, "relative_attention_num_buckets": 32}
    config |= {"layer_norm_eps": 1e-5, "architectures": ["MPNetModel"], "pad_token_id": 1}
    if is_reranker:
        shapes = {f"mpnet.{name}": shape for name, shape in shapes.items()}
        shapes |= _linear("classifier.dense", SIZE, SIZE) | _linear("classifier.out_proj", 1, SIZE)
        config |= {"architectures": ["MPNetForSequenceClassification"]}
    else:  # what such checkpoints hold beside, and nobody uses
        shapes |= _linear("pooler.dense", SIZE, SIZE) | {"embeddings.position_ids": (1, 130)}
    return config, shapes


def _distilbert(vocab_size: int, is_reranker: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    shapes: dict[str, Any] = {
        "embeddings.word_embeddings.weight": (vocab_size, SIZE),
        "embeddings.position_embeddings.weight": (128, SIZE),
    } | _norm("embeddings.LayerNorm")
    for layer in (f"transformer.layer.{number}" for number in range(LAYERS)):
        for part in "qkv":
            shapes |= _linear(f"{layer}.attention.{part}_lin", SIZE, SIZE)
        shapes |= _linear(f"{layer}.attention.out_lin", SIZE, SIZE)
        shapes |= _linear(f"{layer}.ffn.lin1", INNER, SIZE)
        shapes |= _linear(f"{layer}.ffn.lin2", SIZE, INNER)
        shapes |= _norm(f"{layer}.sa_layer_norm") | _norm(f"{layer}.output_layer_norm")
    config: dict[str, Any] = {"dim": SIZE, "hidden_dim": INNER, "n_layers": LAYERS}
    config |= {"n_heads": HEADS, "max_position_embeddings": 128, "pad_token_id": 0}
    config |= {"architectures": ["DistilBertModel"], "activation": "gelu"}
    if is_reranker:
        shapes = {f"distilbert.{name}": shape for name, shape in shapes.items()}
        shapes |= _linear("pre_classifier", SIZE, SIZE) | _linear("classifier", 1, SIZE)
        config |= {"architectures": ["DistilBertForSequenceClassification"]}
    return config, shapes


def _modernbert(vocab_size: int, is_reranker: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    shapes: dict[str, Any] = {"embeddings.tok_embeddings.weight": (vocab_size, SIZE)}
    shapes |= {"embeddings.norm.weight": (SIZE,), "final_norm.weight": (SIZE,)}
    for number in range(LAYERS):
        layer = f"layers.{number}"
        if number:
            shapes[f"{layer}.attn_norm.weight"] = (SIZE,)
        shapes[f"{layer}.mlp_norm.weight"] = (SIZE,)
        shapes[f"{layer}.attn.Wqkv.weight"] = (3 * SIZE, SIZE)
        shapes[f"{layer}.attn.Wo.weight"] = (SIZE, SIZE)
        shapes[f"{layer}.mlp.Wi.weight"] = (2 * INNER, SIZE)
        shapes[f"{layer}.mlp.Wo.weight"] = (SIZE, INNER)
    config: dict[str, Any] = {"norm_eps": 1e-5, "global_attn_every_n_layers": 3}
    config |= {"local_attention": 8, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}
    config |= {"max_position_embeddings": 256, "architectures": ["ModernBertModel"]}
    config |= {"pad_token_id": 0}
    if is_reranker:
        shapes = {f"model.{name}": shape for name, shape in shapes.items()}
        shapes |= {"head.dense.weight": (SIZE, SIZE), "head.norm.weight": (SIZE,)}
        shapes |= _linear("classifier", 1, SIZE)
        config |= {"classifier_pooling": "mean"}
        config |= {"architectures": ["ModernBertForSequenceClassification"]}
    return config, shapes


def _qwen3(vocab_size: int, is_reranker: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """As Qwen3-Embedding's files are: their names begin below the model, and there is no head."""
    shapes: dict[str, Any] = {"embed_tokens.weight": (vocab_size, SIZE), "norm.weight": (SIZE,)}
    for layer in (f"layers.{number}" for number in range(LAYERS)):
        for part, heads in (("q", HEADS), ("k", 2), ("v", 2)):
            shapes[f"{layer}.self_attn.{part}_proj.weight"] = (heads * 8, SIZE)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (SIZE, HEADS * 8)
        shapes |= {f"{layer}.self_attn.{part}_norm.weight": (8,) for part in "qk"}
        for part in ("gate", "up"):
            shapes[f"{layer}.mlp.{part}_proj.weight"] = (INNER, SIZE)
        shapes[f"{layer}.mlp.down_proj.weight"] = (SIZE, INNER)
        for part in ("input", "post_attention"):
            shapes[f"{layer}.{part}_layernorm.weight"] = (SIZE,)
    config: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-6}
    config |= {"rope_theta": 1000000.0, "max_position_embeddings": 512}
    config |= {"tie_word_embeddings": True, "architectures": ["Qwen3ForCausalLM"]}
    return config, shapes


def _linear(name: str, rows: int, columns: int) -> dict[str, Any]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str) -> dict[str, Any]:
    return {f"{name}.weight": (SIZE,), f"{name}.bias": (SIZE,)}


def widen_head(folder: Path, num_labels: int) -> Path:
    """Make a classifier of several labels of a reranker."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name in weights.keys() & {f"classifier{end}" for end in _LAST_OF_HEAD}:
        weights[name] = weights[name].repeat(num_labels, axis=0)
    save_file(weights, path)
    return folder
