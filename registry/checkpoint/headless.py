"""A language model's class without its head, for embedders; or with a reranker's in its place.

Built by the engine and by the job process alike. It takes mlx-lm's classes and imports none, for
the web process reads this room and never loads MLX.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .kind import kind_in
from .ranking import ranking_of


def class_of(
    base: type[Any],
    folder: Path,
    config: Mapping[str, object],
    make_linear: Callable[[int, int], Any],
) -> type[Any]:
    """mlx-lm's class, or one for what this folder's files make of the model.

    `make_linear` makes a matrix of so many inputs and outputs. Raises OSError or ValueError.
    """
    kind = kind_in(folder, config)
    if kind == "llm":
        return base
    if kind == "embed":
        return headless(base)
    num_labels, size = ranking_of(folder, config).num_labels, config.get("hidden_size")
    if not num_labels:  # it ranks by the logits of tokens
        return base
    if not isinstance(size, int):
        raise ValueError("config.json tells no hidden_size")
    return headless(base, lambda: make_linear(size, num_labels))


def headless(base: type[Any], make_score: Callable[[], Any] | None = None) -> type[Any]:
    """mlx-lm's class without `lm_head`; with `score`, a head that `make_score` makes.

    Tensor names may lack "model.", as Qwen3-Embedding's do.
    """

    class Headless(base):  # type: ignore[misc]
        def __init__(self, args: object) -> None:
            super().__init__(args)
            if make_score is not None:
                self.score = make_score()

        def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
            if not any(name.startswith("model.") for name in weights):
                weights = {
                    name if name.startswith("score.") else f"model.{name}": value
                    for name, value in weights.items()
                }
            weights = {k: value for k, value in weights.items() if not k.startswith("lm_head.")}
            if hasattr(base, "sanitize"):
                weights = super().sanitize(weights)
            self.pop("lm_head", None)  # not before: Gemma's `sanitize` wants to remove it itself
            return weights

    return Headless
