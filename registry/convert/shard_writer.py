"""Weights on their way to disk: written a shard at a time, so that memory stays bounded."""

import json
from pathlib import Path

import mlx.core as mx

from registry.checkpoint import listing

_SHARD_BYTES = 2 << 30


class ShardWriter:
    """Collects tensors into model*.safetensors of a folder. `close` gives the files their names."""

    def __init__(self, folder: Path, shard_bytes: int = _SHARD_BYTES) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._held: dict[str, mx.array] = {}
        self._held_bytes = 0
        self._written: list[list[str]] = []  # the tensors of each shard

    def add(self, name: str, value: mx.array) -> None:
        """Evaluate the tensor and keep it until its shard is full."""
        mx.eval(value)
        if self._held and self._held_bytes + value.nbytes > self._shard_bytes:
            self._flush()
        self._held[name] = value
        self._held_bytes += value.nbytes

    def close(self) -> None:
        """Write what is held, and the index if there are several shards."""
        self._flush()
        count = len(self._written)
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self._written):
            final = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            if count == 1:
                final = "model.safetensors"
            self._part(number).rename(self._folder / final)
            weight_map |= dict.fromkeys(names, final)
        if count > 1:
            index = {"metadata": {}, "weight_map": dict(sorted(weight_map.items()))}
            (self._folder / listing.INDEX).write_text(json.dumps(index, indent=1))

    def _flush(self) -> None:
        part = self._part(len(self._written))
        mx.save_safetensors(str(part), self._held, {"format": "mlx"})
        self._written.append(list(self._held))
        self._held.clear()
        self._held_bytes = 0

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number}.safetensors"
