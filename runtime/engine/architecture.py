"""mlx-lm's classes of a config, with the attention windows that some of its modules leave out.

Asked by whoever builds a model here: the loader, the probe and the encoders.
"""

import sys
from collections.abc import Sequence
from dataclasses import make_dataclass
from typing import Any

from mlx_lm.models.cache import KVCache, RotatingKVCache
from mlx_lm.utils import _get_classes

from registry.checkpoint.window import sliding_layers


def classes(config: dict[str, Any]) -> tuple[type[Any], type[Any]]:
    """The model's class and that of its arguments. Raises ValueError for an unknown model_type."""
    model, arguments = _get_classes(config)
    is_sliding = sliding_layers(config)
    return (model, arguments) if is_sliding is None else _windowed(model, arguments, is_sliding)


def _windowed(base: Any, arguments: Any, is_sliding: Sequence[bool]) -> tuple[type[Any], type[Any]]:
    class Windowed(base):  # type: ignore[misc]
        def __init__(self, args: Any) -> None:
            super().__init__(args)
            self._window = args.sliding_window
            for layer, slides in zip(self.layers, is_sliding, strict=True):
                window = self._window if slides else None
                layer.__class__ = _with_own_mask(type(layer), window, all(is_sliding))

        def make_cache(self) -> list[KVCache | RotatingKVCache]:
            return [
                RotatingKVCache(max_size=self._window) if slides else KVCache()
                for slides in is_sliding
            ]

    # The window is an argument, for the probe shortens those that it finds there.
    fields: list[Any] = [("sliding_window", int | None, None)]
    return Windowed, make_dataclass(arguments.__name__, fields, bases=(arguments,))


def _with_own_mask(base: Any, window: int | None, is_uniform: bool) -> Any:
    """A layer that makes its mask of its own cache: the one that it is given is the first layer's,
    which is the right one if all caches have the same window."""
    module: Any = sys.modules[base.__module__]
    needs_array = module.__name__.endswith(".gemma2")

    class Layer(base):  # type: ignore[misc]
        def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            *scales, mask, cache = (*args, *kwargs.values())
            if cache is None or not is_uniform:
                mask = module.create_attention_mask(
                    x, cache, window_size=window, return_array=needs_array
                )
            return super().__call__(x, *scales, mask, cache)

    return Layer
