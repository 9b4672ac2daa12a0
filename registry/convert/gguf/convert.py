"""A GGUF of the llama, qwen2, qwen3, smollm3, bert or nomic-bert family, to an MLX folder.

Quantised weights stay as they are where MLX has groups of their kind (see `affine`), and become the
nearest that it has where not; some rows at a time. Config and tokenizer come out of the metadata.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import mlx.core as mx
import numpy as np

from registry.checkpoint.weights import Tensor, quote
from registry.convert.shard_writer import ShardWriter
from registry.convert_messages import Work
from registry.errors import ConversionFailed, NotAModel

from . import affine, encoder
from .affine import Groups
from .config import config_of
from .file import GgufFile
from .rope import ROPE_FREQS
from .sampling import write_sampling
from .storage import (
    NEAREST_BITS,
    NEAREST_GROUP,
    Loss,
    common_quantization,
    compute_dtype,
    described,
    refuse_second_packing,
    storage_of,
)
from .tokenizer import write_tokenizer

Packed: TypeAlias = tuple[mx.array, mx.array, mx.array]  # weight, scales and biases

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


class Conversion:
    """A file that can be converted, and how. Nothing is written before `write`."""

    def __init__(self, path: Path, work: Work) -> None:
        """Raises NotAModel, BrokenWeights, ConversionFailed."""
        self._file = file = GgufFile.open(path)
        self._work = work
        if file.is_encoder and work.bits is not None:
            raise ConversionFailed(
                f"Embedding models ({file.architecture}) are not packed: leave out bits."
            )
        refuse_second_packing(file, work.bits)
        self._dtype = compute_dtype(file, work)
        self._config = encoder.config_of(file) if file.is_encoder else config_of(file)
        if not file.metadata.get(f"{file.architecture}.attention.causal", True):
            self._config |= {"is_causal": False}  # as gte-Qwen2: see checkpoint.attention
        self._storages = {
            name: storage_of(file, tensor, work)
            for name, tensor in file.tensors.items()
            if name != ROPE_FREQS
        }
        self._losses = {name: Loss() for name in self._storages}

    @property
    def num_bytes(self) -> int:
        """What the weights will take on disk, at most."""
        tensors = self._file.tensors
        return sum(storage.num_bytes(tensors[name]) for name, storage in self._storages.items())

    def write(self, target: Path, report: Callable[[int, int], None]) -> tuple[str, ...]:
        """Write config.json, the tokenizer, how it is sampled, and the weights into `target`.

        Returns what became of the file's weights, a line for each type. Raises as `__init__` does.
        """
        file = self._file
        write_tokenizer(file.metadata, target)
        encoder.write_pooling(file, target)  # language models may embed, too
        write_sampling(file.metadata, target)
        (target / "config.json").write_text(json.dumps(self._whole_config(), indent=2))
        writer = ShardWriter(target)
        total = sum(file.tensors[name].end - file.tensors[name].begin for name in self._storages)
        done = 0
        for name in self._storages:
            tensor = file.tensors[name]
            for written, value in self._weights(tensor):
                writer.add(written, value)
            done += tensor.end - tensor.begin
            report(done, total)
        writer.close()
        return described(file, self._storages, self._losses)

    def _whole_config(self) -> dict[str, Any]:
        config = self._config | {"dtype": self._dtype}
        if any(storage.dtype != self._dtype for storage in self._storages.values()):
            # What is kept has dtypes of its own, and on a GPU the longest would set the pace.
            config["compute_dtype"] = self._dtype
        if (common := common_quantization(self._storages.values())) is None:
            return config
        packing = dict(common)
        for name, storage in self._storages.items():
            if storage.bits is not None and storage.quantization() != common:
                layer, _ = _name(self._file, self._file.tensors[name])
                packing[layer] = storage.quantization()
        return config | {"quantization": packing, "quantization_config": packing}

    def _weights(self, tensor: Tensor) -> Iterator[tuple[str, mx.array]]:
        """The tensor under mlx-lm's name; packed it is three: weight, scales and biases.

        An encoder's has Hugging Face's name, and is split where that has several tensors for it.
        """
        file, storage = self._file, self._storages[tensor.name]
        if file.is_encoder:
            names = encoder.names(file, tensor)
            yield from zip(names, mx.split(self._plain(tensor), len(names)), strict=True)
            return
        layer, part = _name(file, tensor)
        if storage.bits is None:
            yield f"{layer}.{part}", self._plain(tensor)
            return
        if storage.is_kept:
            packed = self._kept(tensor)
        elif self._work.bits is None:
            packed = self._nearest(tensor)
        else:
            packed = self._packed_anew(tensor)
        for name, value in zip(("weight", "scales", "biases"), packed, strict=True):
            yield f"{layer}.{name}", value

    def _plain(self, tensor: Tensor) -> mx.array:
        dtype = self._storages[tensor.name].dtype
        values = [_cast(block, self._file, tensor, dtype) for block in self._file.blocks(tensor)]
        return mx.concatenate(values).reshape(tensor.shape)

    def _kept(self, tensor: Tensor) -> Packed:
        read = affine.PACKINGS[tensor.dtype].read
        return self._joined(tensor, (read(rows) for rows in self._file.rows(tensor)))

    def _nearest(self, tensor: Tensor) -> Packed:
        def packed() -> Iterator[Groups]:
            for block in self._file.blocks(tensor):
                _check_range(block, self._file, tensor, "float16")
                groups = affine.nearest(block)
                weight, scales, biases = (mx.array(part) for part in groups)
                values = mx.dequantize(weight, scales, biases, NEAREST_GROUP, NEAREST_BITS)
                self._losses[tensor.name].add(mx.array(block), values)
                yield groups

        return self._joined(tensor, packed())

    def _joined(self, tensor: Tensor, parts: Iterator[Groups]) -> Packed:
        """One matrix out of its rows; scales and biases in float16 if that holds them exactly."""
        weight, scales, biases = (np.concatenate(part) for part in zip(*parts, strict=True))
        self._file.check_finite(tensor, scales, biases)
        is_half = affine.is_exact(scales, "float16") and affine.is_exact(biases, "float16")
        dtype = mx.float16 if is_half else mx.float32
        return mx.array(weight), mx.array(scales, dtype), mx.array(biases, dtype)

    def _packed_anew(self, tensor: Tensor) -> Packed:
        """By MLX's own quantisation of what the file's numbers stand for."""
        storage, pieces = self._storages[tensor.name], []
        for block in self._file.blocks(tensor):
            values = _cast(block, self._file, tensor, storage.dtype)
            rows = mx.quantize(values, storage.group_size, storage.bits)
            self._losses[tensor.name].add(
                values, mx.dequantize(*rows, storage.group_size, storage.bits)
            )
            mx.eval(rows)
            pieces.append(rows)
        weight, scales, biases = (mx.concatenate(list(part)) for part in zip(*pieces, strict=True))
        return weight, scales, biases


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
    _check_range(block, file, tensor, dtype)
    value = mx.array(block).astype(getattr(mx, dtype))
    mx.eval(value)
    return value


def _check_range(block: Any, file: GgufFile, tensor: Tensor, dtype: str) -> None:
    if dtype == "float16" and np.abs(block).max() > _MAX_FLOAT16:
        raise ConversionFailed(  # not NotAModel: the download is kept for another try
            f"{quote(tensor.name)} of {file.name} holds numbers that are too large for float16; "
            "ask for the dtype bfloat16."
        )
