"""What a file holds of a row's cache, as safetensors in memory, and back."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import msgspec

from runtime.engine.cache.kv_cache import Cache
from runtime.engine.cache.layers import Arrays, Layers, State, flat


@dataclass(frozen=True, slots=True)
class Content:
    """Of some tokens: full layers; windows, of the last ones; a state, as of their end."""

    full: list[Arrays]
    windows: list[Arrays]
    state: State | None = None


class NotStorable(ValueError):
    """A state that is no tree of arrays and plain values."""


def encoded(content: Content) -> bytes:
    """Raises NotStorable."""
    arrays: dict[str, mx.array] = {}
    for kind, layers in (("full", content.full), ("window", content.windows)):
        for number, layer in enumerate(layers):
            arrays |= {f"{kind}.{number}.{part}": array for part, array in enumerate(layer)}
    states = None
    if content.state is not None:
        states = [_packed(vars(layer), arrays) for layer in content.state]
    shape = {"full": len(content.full), "window": len(content.windows), "state": states}
    file = io.BytesIO()
    mx.save_safetensors(file, arrays, {"shape": msgspec.json.encode(shape).decode()})
    return file.getvalue()


def decoded(data: bytes, make: Callable[[], Cache], layers: Layers) -> Content:
    """`make` makes the empty cache whose layers take the state."""
    loaded: Any = mx.load(io.BytesIO(data), format="safetensors", return_metadata=True)
    arrays, metadata = loaded
    mx.eval(arrays)
    shape = msgspec.json.decode(metadata["shape"])
    state: State | None = None
    if shape["state"] is not None:
        empty = list(flat(make()))
        state = [empty[place] for place in layers.states]
        for layer, packed in zip(state, shape["state"], strict=True):
            vars(layer).update(_unpacked(packed, arrays))
    return Content(
        [_parts(arrays, f"full.{number}") for number in range(shape["full"])],
        [_parts(arrays, f"window.{number}") for number in range(shape["window"])],
        state,
    )


def _parts(arrays: Mapping[str, mx.array], name: str) -> Arrays:
    parts: list[mx.array] = []
    while (array := arrays.get(f"{name}.{len(parts)}")) is not None:
        parts.append(array)
    return tuple(parts)


def _packed(value: object, arrays: dict[str, mx.array]) -> object:
    """JSON of a tree; its arrays are put among the others. A list
    begins with what it stands for.
    """
    if isinstance(value, mx.array):
        name = f"state.{len(arrays)}"
        arrays[name] = value
        return ["array", name]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise NotStorable("a state has keys that are no words")
        return {name: _packed(each, arrays) for name, each in value.items()}
    if isinstance(value, Sequence) and type(value) in (list, tuple):
        return [type(value).__name__, *(_packed(each, arrays) for each in value)]
    raise NotStorable(f"a state holds {type(value).__name__}")


def _unpacked(value: Any, arrays: Mapping[str, mx.array]) -> Any:
    if isinstance(value, dict):
        return {name: _unpacked(each, arrays) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    kind, *rest = value
    if kind == "array":
        return arrays[rest[0]]
    items = [_unpacked(each, arrays) for each in rest]
    return tuple(items) if kind == "tuple" else items
