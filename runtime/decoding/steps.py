"""The steps of a tokenizer's decoder, taken piece by piece instead of over a whole answer.

A step of `tokenizers` maps the list of an answer's tokens to another list; the text is what the
last step gives, joined. Each class here does the same for one piece at a time, and holds back what
a piece that is still to come might change. See `tokenizers/src/decoders`; tests hold both equal.
"""

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from tokenizers import Regex, decoders

from registry.checkpoint.tokenizer import byte_level

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BROKEN = "\ufffd"


class NotByPieces(Exception):
    """The step needs the whole answer."""


class Step(Protocol):
    """One step of one answer."""

    def add(self, piece: str) -> Sequence[str]:
        """What this piece makes certain; often the piece itself, changed."""
        ...

    def finish(self) -> Sequence[str]:
        """What was held back, when no more comes."""
        ...

    def alone(self, piece: str) -> str | bytes:
        """What the piece stands for in the middle of a text, whatever is around it."""
        ...


class Map:
    """Changes every piece by itself; the first one perhaps in a way of its own."""

    def __init__(
        self, change: Callable[[str], str], first: Callable[[str], str] | None = None
    ) -> None:
        self.change = change
        self.has_first = first is not None
        self._next = first or change

    def add(self, piece: str) -> Sequence[str]:
        changed = self._next(piece)
        self._next = self.change
        return (changed,)

    def finish(self) -> Sequence[str]:
        return ()

    def alone(self, piece: str) -> str:
        return self.change(piece)


class ByteLevel:
    """Characters that stand for bytes (GPT-2's alphabet), to text; a broken one is replaced.

    Bytes at the end of an answer that begin a character are left out.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def add(self, piece: str) -> Sequence[str]:
        return (self._decode(_bytes_of(piece)),)

    def finish(self) -> Sequence[str]:
        return ()

    def alone(self, piece: str) -> bytes:
        return _bytes_of(piece)


class ByteFallback:
    """Runs of tokens such as <0xE2>, one byte each, to text.

    A run with a fault anywhere is broken as a whole, so it is held until it is over. Bytes at the
    end of an answer that only begin a character are left out.
    """

    def __init__(self) -> None:
        self._run = bytearray()

    def add(self, piece: str) -> Sequence[str]:
        if match := _BYTE.fullmatch(piece):
            self._run.append(int(match[1], 16))
            return ()
        return (*self._flush(), piece) if self._run else (piece,)

    def finish(self) -> Sequence[str]:
        try:
            return (codecs.getincrementaldecoder("utf-8")().decode(bytes(self._run)),)
        except UnicodeDecodeError:
            return self._flush()

    def alone(self, piece: str) -> str | bytes:
        match = _BYTE.fullmatch(piece)
        return bytes([int(match[1], 16)]) if match else piece

    def _flush(self) -> list[str]:
        run, self._run = self._run, bytearray()
        try:
            return [run.decode()] if run else []
        except UnicodeDecodeError:
            return [_BROKEN] * len(run)


class EndOfWord:
    """A mark at the end of a word becomes a space, but not in the last token of an answer."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._held = ""

    def add(self, piece: str) -> Sequence[str]:
        before = self._held.replace(self._mark, " ")
        head, mark, tail = piece.partition(self._mark)
        self._held = mark + tail
        return (before, head)

    def finish(self) -> Sequence[str]:
        return (self._held.replace(self._mark, ""),)

    def alone(self, piece: str) -> str:
        return piece.replace(self._mark, " ")


class Replace:
    """A text to another, also across the borders of pieces."""

    def __init__(self, text: str, by: str) -> None:
        self._text, self._by = text, by
        self._held = ""

    def add(self, piece: str) -> Sequence[str]:
        *parts, rest = (self._held + piece).split(self._text)
        counts = range(min(len(self._text) - 1, len(rest)), 0, -1)
        held = next((count for count in counts if self._text.startswith(rest[-count:])), 0)
        self._held = rest[len(rest) - held :]
        return (*(part + self._by for part in parts), rest[: len(rest) - held])

    def finish(self) -> Sequence[str]:
        return (self._held,)

    def alone(self, piece: str) -> str:
        return piece.replace(self._text, self._by)


class Strip:
    """Takes up to so many of a character from both ends of the text."""

    def __init__(self, character: str, num_first: int, num_last: int) -> None:
        self._character = character
        self._num_first, self._num_last = num_first, num_last
        self._held = ""

    def add(self, piece: str) -> Sequence[str]:
        while self._num_first and piece:
            if piece[0] != self._character:
                self._num_first = 0
                break
            piece = piece[1:]
            self._num_first -= 1
        if not self._num_last:
            return (piece,)
        text = self._held + piece
        tail = len(text) - len(text.rstrip(self._character))
        safe = len(text) - min(tail, self._num_last)
        self._held = text[safe:]
        return (text[:safe],)

    def finish(self) -> Sequence[str]:
        return ()

    def alone(self, piece: str) -> str:
        return piece


def of_tokens(step: Mapping[str, Any]) -> Callable[[], Step]:
    """Makes the step where every piece is a token yet. Raises NotByPieces."""
    match step["type"]:
        case "Replace":
            change = _replace(step["pattern"], step["content"])
            return lambda: Map(change)
        case "Strip":
            return lambda: Map(_strip(step["content"], step["start"], step["stop"]))
        case "Metaspace":
            mark = step["replacement"]
            drop = "" if step.get("prepend_scheme", "always") != "never" else " "
            return lambda: Map(_replace(mark, " "), _replace(mark, drop))
        case "WordPiece":
            first = decoders.WordPiece(step["prefix"], step["cleanup"])
            # It sees a word in front, which goes again.
            return lambda: Map(
                lambda piece: str(first.decode(["x", piece]))[1:],
                lambda piece: str(first.decode([piece])),
            )
        case "BPEDecoder" if mark := step["suffix"]:
            return lambda: EndOfWord(mark)
        case "ByteFallback":
            return ByteFallback
        case "ByteLevel":
            return ByteLevel
    raise NotByPieces(step["type"])


def of_text(step: Mapping[str, Any]) -> Callable[[], Step]:
    """Makes the step where the pieces are of one fused text, and cut anywhere."""
    match step["type"]:
        case "Replace" if text := step["pattern"].get("String"):
            return lambda: Replace(text, step["content"])
        case "Strip":
            return lambda: Strip(step["content"], step["start"], step["stop"])
        case "Metaspace":
            is_dropped = step.get("prepend_scheme", "always") != "never"
            return lambda: Map(_replace(step["replacement"], "" if is_dropped else " "))
        case "BPEDecoder" if mark := step["suffix"]:
            return lambda: Replace(mark, "")
    raise NotByPieces(step["type"])


def _replace(pattern: str | Mapping[str, str], by: str) -> Callable[[str], str]:
    text = pattern if isinstance(pattern, str) else pattern.get("String")
    if text is not None:
        return lambda piece: piece.replace(text, by)
    assert not isinstance(pattern, str)
    replace = decoders.Replace(Regex(pattern["Regex"]), by)
    return lambda piece: str(replace.decode([piece]))


def _strip(character: str, num_first: int, num_last: int) -> Callable[[str], str]:
    def strip(piece: str) -> str:
        first = min(len(piece) - len(piece.lstrip(character)), num_first)
        last = min(len(piece) - len(piece.rstrip(character)), num_last)
        return piece[first : max(first, len(piece) - last)]

    return strip


@lru_cache(maxsize=1 << 18)  # more than most vocabularies
def _bytes_of(piece: str) -> bytes:
    """A piece with any character that stands for no byte is text as it is."""
    try:
        return byte_level.read(piece)
    except KeyError:
        return piece.encode()
