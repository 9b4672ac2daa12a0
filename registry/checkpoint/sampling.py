"""How a model is sampled where a request does not say: as its authors recommend it.

They write it into generation_config.json, a file of transformers; the `general.sampling.*` of a
GGUF are written into one at import.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from .config import Config, read_json

TEMPERATURE = 1.0  # as mimOE's and OpenAI's documentations have it
# Where nothing is said the tail is cut: of a small model, what is in it is noise.
TOP_P = 0.95

Source: TypeAlias = Literal["generation_config.json", "catalog", "default"]
FILE: Source = "generation_config.json"

_LARGEST = {"temperature": 2.0, "top_p": 1.0}  # of a request, and so of what takes its place
# Keys that nothing here honours yet, with the values at which they ask for nothing.
_NEUTRAL: Mapping[str, tuple[float, ...]] = {
    "top_k": (0, -1),
    "min_p": (0,),
    "typical_p": (1,),
    "repetition_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "no_repeat_ngram_size": (0,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "xtc_probability": (0,),
    "mirostat": (0,),
}
_MOST = 1e9  # a number beyond is no setting, and might not fit into a record


class Recommended(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is recommended for a model; None where nothing is said."""

    temperature: float | None = None  # 0 is greedy
    top_p: float | None = None
    not_used: dict[str, int | float] = {}  # by the names of generation_config.json


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """What takes the place of all that a request leaves out."""

    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    source: Source = "default"  # of what differs from the above
    not_used: Mapping[str, int | float] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, recommended: Recommended, source: Source) -> "SamplingDefaults":
        """What is recommended, and our own where that is silent."""
        temperature, top_p = recommended.temperature, recommended.top_p
        return cls(
            TEMPERATURE if temperature is None else temperature,
            TOP_P if top_p is None else top_p,
            "default" if temperature is None and top_p is None else source,
            recommended.not_used,
        )


def recommended_in(folder: Path) -> Recommended:
    """What a folder's generation_config.json recommends.

    `do_sample: false` is greedy whatever else is there, as in transformers. Where it is missing the
    other values count, as in vLLM: they would be there for nothing. A value that no request may
    have is not used. Raises NotAModel for a file that cannot be read.
    """
    path = folder / FILE
    config = read_json(path) if path.exists() else {}
    said = _numbers(config)
    used = {name: said[name] for name, most in _LARGEST.items() if 0 <= said.get(name, -1) <= most}
    others = {name: value for name, value in said.items() if name not in used}
    return Recommended(
        0.0 if config.get("do_sample") is False else used.get("temperature"),
        used.get("top_p"),
        {name: value for name, value in others.items() if value not in _NEUTRAL.get(name, ())},
    )


def _numbers(config: Config) -> dict[str, int | float]:
    numbers: dict[str, int | float] = {}
    for name in (*_LARGEST, *_NEUTRAL):
        value = config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST:
            numbers[name] = value
    return numbers
