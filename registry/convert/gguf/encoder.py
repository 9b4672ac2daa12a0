"""GGUFs of embedding models, bert and nomic-bert: config.json, tensor names and pooling."""

import json
from pathlib import Path
from typing import Any

from registry.checkpoint.companions import MODULES, POOLING
from registry.checkpoint.weights import Tensor, quote
from registry.errors import NotAModel

from .config import refuse_variants
from .file import INSTEAD, GgufFile
from .rope import rope_scaling
from .tokenizer import token_id

# llama.cpp's pooling types, and the keys of sentence-transformers' 1_Pooling/config.json.
_POOLING_MODES = {1: "pooling_mode_mean_tokens", 2: "pooling_mode_cls_token"}
_POOLING_MODES[3] = "pooling_mode_lasttoken"
_NO_POOLING, _RANK = 0, 4

_TOKENIZERS = ("bert", "t5")  # RoBERTa's, "gpt2", begin and end texts in a way not told

_BERT = {
    "token_embd": "embeddings.word_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "embeddings.LayerNorm",
}
_BERT_LAYER = {
    "attn_q": ("attention.self.query",),
    "attn_k": ("attention.self.key",),
    "attn_v": ("attention.self.value",),
    "attn_qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attn_output": ("attention.output.dense",),
    "attn_output_norm": ("attention.output.LayerNorm",),
    "ffn_up": ("intermediate.dense",),
    "ffn_down": ("output.dense",),
    "layer_output_norm": ("output.LayerNorm",),
}
_NOMIC = {
    "token_embd": "embeddings.word_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "emb_ln",
}
_NOMIC_LAYER = {
    "attn_qkv": ("attn.Wqkv",),
    "attn_output": ("attn.out_proj",),
    "attn_output_norm": ("norm1",),
    "ffn_up": ("mlp.fc11",),
    "ffn_gate": ("mlp.fc12",),
    "ffn_down": ("mlp.fc2",),
    "layer_output_norm": ("norm2",),
}


def config_of(file: GgufFile) -> dict[str, Any]:
    """The config.json. Raises NotAModel for what our encoders do not do."""
    refuse_variants(file)
    _refuse_others(file)
    if file.architecture == "nomic-bert" and rope_scaling(file) is not None:
        raise NotAModel(f"{file.name} scales its rotation, which is not supported.")
    if file.metadata.get(f"{file.architecture}.pooling_type") == _RANK:
        raise NotAModel(
            f"{file.name} is a reranker; rerankers are read from safetensors only. Pull the "
            "repository that it was made of."
        )
    common = {
        "vocab_size": _num_rows(file, "token_embd.weight"),
        "type_vocab_size": _num_rows(file, "token_types.weight"),
        "pad_token_id": token_id(file.metadata, "padding"),
    }
    return common | (_bert(file) if file.architecture == "bert" else _nomic(file))


def _refuse_others(file: GgufFile) -> None:
    """Raises NotAModel for encoders that are computed otherwise, or whose tokens are not read."""
    key = f"{file.architecture}."
    wrong = {
        "is a mixture of experts": file.metadata.get(f"{key}moe_every_n_layers"),
        "looks back only": file.metadata.get(f"{key}attention.causal"),
        "has ALiBi for positions": file.metadata.get(f"{key}attention.max_alibi_bias"),
    }
    for what in (what for what, value in wrong.items() if value):
        raise NotAModel(f"{file.name} {what}, which is not computed here; {INSTEAD}.")
    if (kind := file.metadata.get("tokenizer.ggml.model")) not in _TOKENIZERS:
        raise NotAModel(
            f"{file.name} has tokens of the kind {quote(str(kind))}, and of encoders only those of "
            f"BERT and XLM-RoBERTa are read; {INSTEAD}."
        )


def _bert(file: GgufFile) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": file.count("embedding_length"),
        "num_hidden_layers": file.count("block_count"),
        "num_attention_heads": file.count("attention.head_count"),
        "intermediate_size": file.count("feed_forward_length"),
        "max_position_embeddings": _num_rows(file, "position_embd.weight"),
        "layer_norm_eps": file.number("attention.layer_norm_epsilon"),
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
    }


def _nomic(file: GgufFile) -> dict[str, Any]:
    tensors = file.tensors
    return {
        "model_type": "nomic_bert",
        "architectures": ["NomicBertModel"],
        "n_embd": file.count("embedding_length"),
        "n_layer": file.count("block_count"),
        "n_head": file.count("attention.head_count"),
        "n_inner": file.count("feed_forward_length"),
        "n_positions": file.count("context_length"),
        "max_trained_positions": file.count("context_length"),
        "layer_norm_epsilon": file.number("attention.layer_norm_epsilon"),
        "activation_function": "swiglu",
        "rotary_emb_base": file.number("rope.freq_base"),
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "qkv_proj_bias": "blk.0.attn_qkv.bias" in tensors,
        "mlp_fc1_bias": "blk.0.ffn_up.bias" in tensors,
        "mlp_fc2_bias": "blk.0.ffn_down.bias" in tensors,
        "prenorm": False,
        "use_rms_norm": False,
        "parallel_block": False,
        "causal": False,
    }


def _num_rows(file: GgufFile, name: str) -> int:
    tensor = file.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2:
        raise NotAModel(f"{file.name} has no {name} of rows and columns.")
    return tensor.shape[0]


def names(file: GgufFile, tensor: Tensor) -> list[str]:
    """Hugging Face's name for the tensor; several names if it joins the rows of several tensors.

    Raises NotAModel.
    """
    is_bert = file.architecture == "bert"
    outer, inner = (_BERT, _BERT_LAYER) if is_bert else (_NOMIC, _NOMIC_LAYER)
    layers = "encoder.layer" if is_bert else "encoder.layers"
    match tensor.name.split("."):
        case ["blk", number, name, "weight" | "bias" as part] if name in inner:
            found = [f"{layers}.{number}.{full}.{part}" for full in inner[name]]
            if tensor.shape[0] % len(found):
                raise NotAModel(f"{file.name} has {tensor.shape[0]} rows in {quote(tensor.name)}.")
            return found
        case [name, "weight" | "bias" as part] if name in outer:
            return [f"{outer[name]}.{part}"]
    raise NotAModel(
        f"{file.name} has a tensor {quote(tensor.name)}, which is unknown in {file.architecture}."
    )


def write_pooling(file: GgufFile, target: Path) -> None:
    """The files of sentence-transformers that say how one vector is made. Raises NotAModel."""
    kind = file.metadata.get(f"{file.architecture}.pooling_type", _NO_POOLING)
    if kind == _NO_POOLING:
        return
    if not isinstance(kind, int) or kind not in _POOLING_MODES:
        raise NotAModel(f"{file.name} pools in a way that is not known here: {quote(str(kind))}.")
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    # No GGUF says whether vectors are normalised: llama.cpp normalises all.
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(modules)
    ]
    pooling: dict[str, Any] = {"word_embedding_dimension": file.count("embedding_length")}
    pooling |= {mode: mode == _POOLING_MODES[kind] for mode in _POOLING_MODES.values()}
    (target / MODULES).write_text(json.dumps(listed, indent=2))
    (target / POOLING).parent.mkdir(exist_ok=True)
    (target / POOLING).write_text(json.dumps(pooling, indent=2))
