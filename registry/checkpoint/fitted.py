"""mlx-lm's class, which takes no whole numbers for a weight that is computed with.

mlx-lm compares names and shapes only: bytes of a format that it does not know become numbers from
0 to 255, and the model talks nonsense. Built by the engine and by the job process alike, so nothing
of MLX is imported: the web process reads this room.
"""

from collections.abc import Iterator
from typing import Any


def fitted(base: type[Any]) -> type[Any]:
    """The class, whose `load_weights` raises ValueError for a weight of another kind of number."""

    class Fitted(base):  # type: ignore[misc]
        def load_weights(self, file_or_weights: Any, strict: bool = True) -> Any:
            own = dict(_flat(self.parameters(), ""))
            for name, value in file_or_weights:
                if name in own and _is_float(own[name]) != _is_float(value):
                    wanted = "floating point" if _is_float(own[name]) else "whole"
                    raise ValueError(
                        f"the weight {name[:200]!r} is of {value.dtype}, where {wanted} numbers "
                        "are expected: it is packed in a way that is not read here"
                    )
            return super().load_weights(file_or_weights, strict=strict)

    return Fitted


def _is_float(value: Any) -> bool:
    return "float" in str(value.dtype)


def _flat(parameters: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Names and arrays of a module's parameters, as mlx.utils.tree_flatten names them."""
    if isinstance(parameters, dict):
        items: Any = parameters.items()
    elif isinstance(parameters, list | tuple):
        items = enumerate(parameters)
    else:
        yield prefix.removesuffix("."), parameters
        return
    for key, value in items:
        yield from _flat(value, f"{prefix}{key}.")
