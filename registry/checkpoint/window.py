"""Which layers look back no further than a window, where mlx-lm's module lets all of them look back
fully: Mistral 7B, Gemma 2, Phi-3 mini and StarCoder 2 go wrong past their window then.

Layers without `layer_types` slide as the configs of transformers fill them in.
"""

from collections.abc import Mapping

from .architectures import architecture_of
from .attention import looks_ahead

_SLIDING = "sliding_attention"

_ALL = frozenset({"mistral", "ministral3", "mixtral", "phi3", "phimoe", "starcoder2"})
_EVERY_OTHER = frozenset({"gemma2"})
_LAST = frozenset({"dots1"})
# These have a size in config.json also where no layer slides.
_ALL_IF_USED = frozenset({"qwen3_moe"})
_LAST_IF_USED = frozenset({"qwen2", "qwen3"})
_TYPED_IF_USED = frozenset({"qwen2_moe", "smollm3"})
_IF_USED = _ALL_IF_USED | _LAST_IF_USED | _TYPED_IF_USED

_READ_TYPES = frozenset({"llama", "ministral3"})  # modules right but for models without a full one
_MAX_WINDOW_LAYERS = 28  # of a config that does not say


def sliding_layers(config: Mapping[str, object]) -> list[bool] | None:
    """Whether each layer sees the last `sliding_window` tokens only.

    None where mlx-lm's module is right as it stands.
    """
    window, longest = config.get("sliding_window"), config.get("max_position_embeddings")
    num_layers = config.get("num_hidden_layers")
    if (
        not isinstance(num_layers, int)
        or not isinstance(window, int)
        or window <= 0
        or (isinstance(longest, int) and window >= longest)
        or looks_ahead(config)
    ):
        return None
    is_sliding = _sliding(config, str(config.get("model_type")), num_layers)
    is_right = architecture_of(config) in _READ_TYPES and not all(is_sliding)
    return is_sliding if any(is_sliding) and not is_right else None


def _sliding(config: Mapping[str, object], model_type: str, num_layers: int) -> list[bool]:
    is_known = model_type in _ALL | _EVERY_OTHER | _LAST | _IF_USED
    if not is_known or (model_type in _IF_USED and not config.get("use_sliding_window")):
        return [False] * num_layers
    types = config.get("layer_types")
    if isinstance(types, list) and len(types) == num_layers:
        return [kind == _SLIDING for kind in types]
    if model_type in _EVERY_OTHER:
        return [index % 2 == 0 for index in range(num_layers)]
    if model_type in _LAST | _LAST_IF_USED:
        first = config.get("max_window_layers", _MAX_WINDOW_LAYERS)
        return [isinstance(first, int) and index >= first for index in range(num_layers)]
    return [model_type in _ALL | _ALL_IF_USED] * num_layers
