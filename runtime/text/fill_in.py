"""A gap in a text, as models read it that were trained to fill one in: by special tokens.

(Bavarian et al., "Efficient Training of Language Models to Fill in the Middle", arXiv 2207.14255)
"""

from typing import NamedTuple, Protocol


class _Marks(NamedTuple):
    """Before what stands in front, before what stands behind, and where the gap is filled."""

    prefix: str
    suffix: str
    middle: str | None  # None: the front comes last, and is gone on with


# As their tokenizers have them.
_KNOWN = (
    _Marks("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, CodeGemma, Granite 4
    _Marks("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite, SmolLM
    _Marks("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    _Marks("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    _Marks("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    _Marks("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM
    _Marks("[PREFIX]", "[SUFFIX]", None),  # Codestral
)


class _Tokenizer(Protocol):
    def id_of(self, token: str) -> int | None: ...
    def prompt(self, text: str) -> list[int]: ...
    def beginning(self) -> list[int]: ...


def fill_in(tokenizer: _Tokenizer, prefix: str, suffix: str) -> list[int] | None:
    """The prompt; None for a model that has no tokens for it."""
    for marks in _KNOWN:
        before, behind = tokenizer.id_of(marks.prefix), tokenizer.id_of(marks.suffix)
        if before is None or behind is None:
            continue
        front = [before, *tokenizer.prompt(prefix)]
        back = [behind, *tokenizer.prompt(suffix)]
        if marks.middle is None:
            return [*tokenizer.beginning(), *back, *front]
        if (middle := tokenizer.id_of(marks.middle)) is not None:
            return [*tokenizer.beginning(), *front, *back, middle]
    return None
