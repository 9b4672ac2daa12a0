"""GGUF files of encoders, written as the BertModel of convert_hf_to_gguf.py writes them."""

import json
from pathlib import Path
from typing import Any

import gguf
from gguf.constants import GGMLQuantizationType, PoolingType
from gguf.quants import quantize
from safetensors.numpy import load_file

from registry.checkpoint.tokenizer import sentencepiece_model

_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "emb_ln": "token_embd_norm",
}
_LAYER_NAMES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    "norm1": "attn_output_norm",
    "mlp.fc11": "ffn_up",
    "mlp.fc12": "ffn_gate",
    "mlp.fc2": "ffn_down",
    "norm2": "layer_output_norm",
}


def write_encoder_gguf(
    folder: Path,
    path: Path,
    kind: str = "F32",
    pooling: PoolingType | None = PoolingType.MEAN,
    tokenizer: dict[str, Any] | None = None,
    architecture: str | None = None,
    **extra: Any,
) -> Path:
    """The encoder of a folder as one file; matrices in `kind`. `extra` is other metadata.

    `tokenizer`: the metadata of another than the folder's.
    """
    config = json.loads((folder / "config.json").read_bytes())
    is_bert = config["model_type"] == "bert"
    writer = gguf.GGUFWriter(path, architecture or ("bert" if is_bert else "nomic-bert"))
    names = ("num_hidden_layers", "max_position_embeddings", "hidden_size", "intermediate_size")
    if not is_bert:
        names = ("n_layer", "n_positions", "n_embd", "n_inner")
        writer.add_rope_freq_base(config["rotary_emb_base"])
    layers, context, width, inner = (config[name] for name in names)
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(config["num_attention_heads" if is_bert else "n_head"])
    writer.add_layer_norm_eps(config["layer_norm_eps" if is_bert else "layer_norm_epsilon"])
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    _add_tokenizer(writer, tokenizer or wordpiece_metadata(folder))
    for key, value in extra.items():
        key = key.replace("__", ".")
        writer.kv_data[0].pop(key, None)
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    for name, tensor in load_file(folder / "model.safetensors").items():
        wanted = GGMLQuantizationType[kind if tensor.ndim > 1 else "F32"]
        writer.add_tensor(_gguf_name(name), quantize(tensor, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_name(name: str) -> str:
    stem, part = name.rsplit(".", 1)
    if stem in _NAMES:
        return f"{_NAMES[stem]}.{part}"
    _, _, number, layer = stem.split(".", 3)
    return f"blk.{number}.{_LAYER_NAMES[layer]}.{part}"


def wordpiece_metadata(folder: Path, *, brackets: bool = False) -> dict[str, Any]:
    """What the converter says of a WordPiece; `brackets`: as it did before it looked at types."""
    content = json.loads((folder / "tokenizer.json").read_bytes())
    ids: dict[str, int] = content["model"]["vocab"]
    special = {token["content"] for token in content["added_tokens"] if token["special"]}
    tokens = sorted(ids, key=lambda token: ids[token])

    def phantom(token: str) -> str:
        is_bracketed = token.startswith("[") and token.endswith("]")
        if is_bracketed if brackets else token in special:
            return token
        return token[2:] if token.startswith("##") else f"\u2581{token}"

    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "jina-v2-en",
        "tokenizer.ggml.tokens": [phantom(token) for token in tokens],
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in tokens],
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.unknown_token_id": ids["[UNK]"],
        "tokenizer.ggml.seperator_token_id": ids["[SEP]"],
        "tokenizer.ggml.padding_token_id": ids["[PAD]"],
        "tokenizer.ggml.cls_token_id": ids["[CLS]"],
        "tokenizer.ggml.mask_token_id": ids["[MASK]"],
    }


def xlm_roberta_metadata(path: Path) -> dict[str, Any]:
    """What the converter says of an XLM-R's SentencePiece model, numbered as fairseq does."""
    model = sentencepiece_model.read(path)
    first = [("<s>", 0.0, 3), ("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2)]
    rest = [(piece.text, piece.score, int(piece.kind)) for piece in model.pieces[3:]]
    tokens, scores, kinds = zip(*first, *rest, ("<mask>", 0.0, 3), strict=True)
    return {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.scores": list(scores),
        "tokenizer.ggml.token_type": list(kinds),
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": model.remove_extra_whitespaces,
        "tokenizer.ggml.precompiled_charsmap": list(model.charsmap),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.padding_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": True,
    }


def _add_tokenizer(writer: Any, metadata: dict[str, Any]) -> None:
    for key, value in metadata.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case str():
                writer.add_string(key, value)
            case list():
                writer.add_array(key, value)
