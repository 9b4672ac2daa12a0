"""How a model is sampled where a request does not say: as its authors recommend it.

They write it into generation_config.json, a file of transformers; the `general.sampling.*` of a
GGUF are written into one at import.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from .config import Config, read_json

TEMPERATURE = 1.0  # as mimOE's and OpenAI's documentations have it
# Where nothing is said the tail is cut: of a small model, what is in it is noise.
MIN_P = 0.05

Source: TypeAlias = Literal["generation_config.json", "catalog", "default"]
FILE: Source = "generation_config.json"


class _Range(NamedTuple):
    """The values of a request's field, and so of what takes its place."""

    least: float
    most: float
    is_whole: bool = False


_USED: Mapping[str, _Range] = {
    "temperature": _Range(0, 2),
    "top_p": _Range(0, 1),
    "top_k": _Range(0, 2**31 - 1, is_whole=True),
    "min_p": _Range(0, 1),
    "presence_penalty": _Range(-2, 2),
    "frequency_penalty": _Range(-2, 2),
    "repetition_penalty": _Range(0.01, 10),
}
_CUTS = ("top_p", "top_k", "min_p")  # of the tail
# Keys that nothing here honours, with the values at which they ask for nothing.
_NEUTRAL: Mapping[str, tuple[float, ...]] = {
    "typical_p": (1,),
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
    top_k: int | None = None  # 0: all
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None

    @property
    def is_silent(self) -> bool:
        return not self.values()

    def values(self) -> dict[str, int | float]:
        """What is said and used. Records of before held more back in `not_used`."""
        said = {name: getattr(self, name) for name in _USED}
        return _usable(self.not_used) | {name: v for name, v in said.items() if v is not None}

    def rest(self) -> dict[str, int | float]:
        """What is said and not used."""
        used = _usable(self.not_used)
        return {name: value for name, value in self.not_used.items() if name not in used}


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """What takes the place of all that a request leaves out."""

    temperature: float = TEMPERATURE
    top_p: float = 1.0
    source: Source = "default"  # of what differs from the above
    not_used: Mapping[str, int | float] = field(default_factory=dict, hash=False)
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0

    @classmethod
    def of(cls, recommended: Recommended, source: Source) -> "SamplingDefaults":
        """What is recommended, and our own where that is silent."""
        said = recommended.values()
        if not any(name in said for name in _CUTS):
            said["min_p"] = MIN_P
        own = "default" if recommended.is_silent else source
        return cls(source=own, not_used=recommended.rest(), **said)  # type: ignore[arg-type]

    def values(self) -> dict[str, int | float]:
        """By the names of a request's fields."""
        return {name: getattr(self, name) for name in _USED}


def _usable(said: Mapping[str, int | float]) -> dict[str, int | float]:
    """Of these, what a request may say too. -1 is another way to say 0 of top_k."""
    usable: dict[str, int | float] = {}
    for name, (least, most, is_whole) in _USED.items():
        value = said.get(name)
        if name == "top_k" and value == -1:
            value = 0
        if value is None or not least <= value <= most or (is_whole and value != int(value)):
            continue
        usable[name] = int(value) if is_whole else value
    return usable


def recommended_in(folder: Path) -> Recommended:
    """What a folder's generation_config.json recommends.

    `do_sample: false` is greedy whatever else is there, as in transformers. Where it is missing the
    other values count, as in vLLM: they would be there for nothing. A value that no request may
    have is not used. Raises NotAModel for a file that cannot be read.
    """
    path = folder / FILE
    config = read_json(path) if path.exists() else {}
    said = _numbers(config)
    used = _usable(said)
    if config.get("do_sample") is False:
        used["temperature"] = 0.0
    others = {name: value for name, value in said.items() if name not in used}
    others = {name: value for name, value in others.items() if value not in _NEUTRAL.get(name, ())}
    return Recommended(not_used=others, **used)  # type: ignore[arg-type]


def _numbers(config: Config) -> dict[str, int | float]:
    numbers: dict[str, int | float] = {}
    for name in (*_USED, *_NEUTRAL):
        value = config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST:
            numbers[name] = value
    return numbers
