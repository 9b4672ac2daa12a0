"""A language model's class without its head, for embedders; or with a reranker's in its place.

Built by the engine and by the job process alike. It takes mlx-lm's classes and imports none, for
the web process reads this room and never loads MLX.
"""

from collections.abc import Callable
from typing import Any


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
