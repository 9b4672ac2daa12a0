"""config.json in the words that mlx-lm reads: what transformers 5 spells otherwise is put back.

Applied when a folder is imported, and again when it is loaded: models that were registered before
have the config.json of their repository.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from registry.errors import NotAModel

from .architectures import architecture_of, mentions, source
from .arguments import renamed
from .config import NESTED, Config, understood
from .rope import lifted

_SLIDING = "sliding_attention"
_FLOATS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


def normalised(config: Mapping[str, object]) -> Config:
    """The config with what its architecture reads in the fields where it reads it.

    Raises NotAModel for a form that the architecture would not compute, and for damaged values.
    """
    with understood():
        return _normalised(dict(config), architecture_of(config))


def overrides(folder: Path) -> Config:
    """What mlx-lm's `load_model` has to be told of a folder (`model_config`), beside config.json.

    Raises OSError or ValueError, also where `normalised` raises NotAModel.
    """
    text = (folder / "config.json").read_bytes()
    config: Config = json.loads(text, object_hook=_untagged)
    try:
        found = normalised(config)
    except NotAModel as error:
        raise ValueError(str(error)) from None
    return {key: value for key, value in found.items() if key not in config or config[key] != value}


def _normalised(config: Config, architecture: str) -> Config:
    text = source(architecture)
    if text is None:  # an encoder of ours
        return config
    for key in NESTED:
        if isinstance(nested := config.get(key), dict):
            own = architecture_of(nested)
            is_built_on = re.search(
                rf"^from \.(?: import .*\b)?{re.escape(own)}\b", text, re.MULTILINE
            )
            config = config | {key: _normalised(nested, own if is_built_on else architecture)}
    return _with_pattern(lifted(renamed(config, architecture), architecture), architecture)


def _with_pattern(config: Config, architecture: str) -> Config:
    """With `sliding_window_pattern`, where it is read in place of the `layer_types` that are given.

    Gemma 3 and Cohere 2 count: every nth layer is a full one. EXAONE 4 has letters, "LLLG".
    """
    types = config.get("layer_types")
    if (
        not isinstance(types, list)
        or not types
        or not mentions(architecture, r"\bsliding_window_pattern:")
        or mentions(architecture, r"\blayer_types:")
    ):
        return config
    is_sliding = [kind == _SLIDING for kind in types]
    if mentions(architecture, r"\bsliding_window_pattern: Optional\[str\]"):
        letters = "".join("L" if sliding else "G" for sliding in is_sliding)
        return config | {"sliding_window_pattern": letters if "L" in letters else None}
    given = config.get("sliding_window_pattern", config.get("_sliding_window_pattern"))
    first_full = is_sliding.index(False) + 1 if False in is_sliding else None
    for every in (first_full, given):
        if isinstance(every, int) and every > 0 and is_sliding == _counted(every, len(types)):
            return config | {"sliding_window_pattern": every}
    raise NotAModel(
        f"config.json has sliding and full layers in an order that is not computed for models of "
        f"type '{architecture}', where every nth is a full one; choose another model."
    )


def _counted(every: int, num_layers: int) -> list[bool]:
    """Which layers slide if every nth is a full one."""
    return [bool((index + 1) % every) for index in range(num_layers)]


def _untagged(value: dict[str, object]) -> object:
    """transformers writes {"__float__": "Infinity"} for what is no number in JSON."""
    tag = value.get("__float__")
    return _FLOATS.get(tag, value) if len(value) == 1 and isinstance(tag, str) else value
