"""The step from tokens back to text, mended where a file names one for another vocabulary."""

import json
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, decoders

_SPACE = "▁"


def repair(tokenizer: Tokenizer) -> None:
    """Give it the decoder that undoes its pre-tokenizer, where the file names another or none.

    The pre-tokenizer decides, for it made the vocabulary. Checkpoints that were converted from
    Mistral's own format (Devstral) write words as bytes, and name SentencePiece's decoder.
    """
    written = {step["type"] for step in steps(tokenizer.decoder)}
    encoding = [*steps(tokenizer.normalizer), *steps(tokenizer.pre_tokenizer)]
    if any(step["type"] == "ByteLevel" for step in encoding):
        if "ByteLevel" not in written:
            tokenizer.decoder = decoders.ByteLevel()
    elif _marks_spaces(encoding) and not written & {"Metaspace", "Replace"}:
        has_prefix = any(_has_prefix(step) for step in encoding)
        tokenizer.decoder = decoders.Sequence(
            [
                decoders.Replace(_SPACE, " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                *([decoders.Strip(" ", 1, 0)] if has_prefix else []),
            ]
        )


def steps(component: Any) -> Iterator[dict[str, Any]]:
    """The settings of a component of `tokenizers`, or of each in a sequence."""
    if component is not None:
        yield from _flat(json.loads(component.__getstate__()))


def _flat(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if settings.get("type") != "Sequence":
        yield settings
    for name in ("normalizers", "pretokenizers", "decoders"):
        for inner in settings.get(name, ()):
            yield from _flat(inner)


def _marks_spaces(steps: list[dict[str, Any]]) -> bool:
    """Whether a space becomes SentencePiece's mark."""
    return any(
        step["type"] == "Metaspace" or (step["type"] == "Replace" and step.get("content") == _SPACE)
        for step in steps
    )


def _has_prefix(step: dict[str, Any]) -> bool:
    """Whether a mark is put before a text that begins without a space."""
    if step["type"] == "Metaspace":
        return bool(step.get("prepend_scheme", "always") != "never")
    return bool(step["type"] == "Prepend" and step.get("prepend") == _SPACE)
