"""A GGUF of the llama, qwen2, qwen3, smollm3, bert or nomic-bert family, to an MLX folder.

Weights of every quantisation are turned into plain numbers, some rows at a time, and packed again
where bits are asked for. Config and tokenizer come out of the metadata.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from registry.checkpoint.weights import Tensor, quote
from registry.convert.shard_writer import ShardWriter
from registry.convert_messages import Work
from registry.errors import ConversionFailed, NotAModel

from . import encoder
from .config import ROPE_FREQS, config_of
from .file import GgufFile
from .tokenizer import write_tokenizer

# For files whose matrices are of no half type. Qwen's activations exceed float16's range.
_HALF_TYPES = {"smollm3": "bfloat16", "qwen2": "bfloat16", "qwen3": "bfloat16"}
_MAX_FLOAT16 = 65504.0

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(path: Path, target: Path, work: Work, report: Callable[[int, int], None]) -> None:
    """Write config.json, the tokenizer and the weights into `target`.

    Raises NotAModel, BrokenWeights, ConversionFailed.
    """
    file = GgufFile.open(path)
    if file.is_encoder and work.bits is not None:
        raise ConversionFailed(
            f"Embedding models ({file.architecture}) are not packed: leave out bits."
        )
    write_tokenizer(file.metadata, target)
    dtype = work.dtype or _own_dtype(file, is_packed=work.bits is not None)
    config = encoder.config_of(file) if file.is_encoder else config_of(file)
    config |= {"dtype": dtype}
    if file.is_encoder:
        encoder.write_pooling(file, target)
    if work.bits is not None:
        packing = {"group_size": work.group_size, "bits": work.bits, "mode": "affine"}
        config |= {"quantization": packing, "quantization_config": packing}
    (target / "config.json").write_text(json.dumps(config, indent=2))
    writer = ShardWriter(target)
    total = sum(tensor.end - tensor.begin for tensor in file.tensors.values())
    done = 0
    for tensor in file.tensors.values():
        if tensor.name != ROPE_FREQS:
            for name, value in _weights(file, tensor, work, dtype):
                writer.add(name, value)
        done += tensor.end - tensor.begin
        report(done, total)
    writer.close()


def _own_dtype(file: GgufFile, *, is_packed: bool) -> str:
    """The dtype if none is asked for: that of the file's matrices, or one that suits the family."""
    dtypes = {tensor.dtype for tensor in file.tensors.values() if len(tensor.shape) > 1}
    if dtypes == {"F32"} and not is_packed:
        return "float32"
    if "BF16" in dtypes:
        return "bfloat16"
    return "float16" if dtypes == {"F16"} else _HALF_TYPES.get(file.architecture, "float16")


def _weights(
    file: GgufFile, tensor: Tensor, work: Work, dtype: str
) -> Iterator[tuple[str, mx.array]]:
    """The tensor under mlx-lm's name; quantised it is three: weight, scales and biases.

    An encoder's has Hugging Face's name, and is split where that has several tensors for it.
    """
    if file.is_encoder:
        names = encoder.names(file, tensor)
        values = [_cast(block, file, tensor, dtype) for block in file.blocks(tensor)]
        whole = mx.concatenate(values).reshape(tensor.shape)
        yield from zip(names, mx.split(whole, len(names)), strict=True)
        return
    layer, part = _name(file, tensor)
    if work.bits is None or len(tensor.shape) == 1 or tensor.shape[-1] % work.group_size:
        values = [_cast(block, file, tensor, dtype) for block in file.blocks(tensor)]
        yield f"{layer}.{part}", mx.concatenate(values).reshape(tensor.shape)
        return
    packed = []
    for block in file.blocks(tensor):
        rows = mx.quantize(_cast(block, file, tensor, dtype), work.group_size, work.bits)
        mx.eval(rows)
        packed.append(rows)
    for name, pieces in zip(("weight", "scales", "biases"), zip(*packed, strict=True), strict=True):
        yield f"{layer}.{name}", mx.concatenate(list(pieces))


def _name(file: GgufFile, tensor: Tensor) -> tuple[str, str]:
    """What mlx-lm calls the tensor: its layer, and "weight" or "bias"."""
    match tensor.name.split("."):
        case ["blk", number, name, "weight" | "bias" as part] if name in _LAYER_NAMES:
            return f"model.layers.{number}.{_LAYER_NAMES[name]}", part
        case [name, "weight" as part] if name in _NAMES:
            return _NAMES[name], part
    raise NotAModel(
        f"{file.name} has a tensor {quote(tensor.name)}, which is unknown in {file.architecture}."
    )


def _cast(block: Any, file: GgufFile, tensor: Tensor, dtype: str) -> mx.array:
    if dtype == "float16" and np.abs(block).max() > _MAX_FLOAT16:
        raise ConversionFailed(  # not NotAModel: the download is kept for another try
            f"{quote(tensor.name)} of {file.name} holds numbers that are too large for float16; "
            "ask for the dtype bfloat16."
        )
    value = mx.array(block).astype(getattr(mx, dtype))
    mx.eval(value)
    return value
