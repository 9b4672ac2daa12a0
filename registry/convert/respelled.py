"""Weights as transformers 5 saves them, under the names and shapes that mlx-lm's classes read."""

from collections.abc import Callable
from typing import Any


def respelled(base: type[Any], architecture: str) -> type[Any]:
    """mlx-lm's class, whose `sanitize` takes the spelling of transformers 5 too."""
    if architecture not in _RESPELL:
        return base
    respell = _RESPELL[architecture]

    class Respelled(base):  # type: ignore[misc]
        def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
            named = [respell(name, value) for name, value in weights.items()]
            cleaned: dict[str, Any] = super().sanitize(dict(named))
            return cleaned

    return Respelled


def _gpt2(name: str, value: Any) -> tuple[str, Any]:
    """GPT-2's repository has its weights without the name of the module that they belong to."""
    return name.removeprefix("transformer."), value


def _gpt_oss(name: str, value: Any) -> tuple[str, Any]:
    """Experts that are not packed: (experts, in, out), and in MLX (experts, out, in)."""
    if name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
        return f"{name}.weight", value.swapaxes(1, 2)
    return name, value


_RESPELL: dict[str, Callable[[str, Any], tuple[str, Any]]] = {"gpt2": _gpt2, "gpt_oss": _gpt_oss}
