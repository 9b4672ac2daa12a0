"""Answers as text, read in pieces of any size; and ways of writing calls, as real models have."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from registry.checkpoint.call_syntax import CallSyntax, Tags
from registry.checkpoint.config import Json
from runtime.engine.answer.reader import AnswerReader
from runtime.requests import AnswerFormat
from runtime.text.call_syntax import HARMONY, HERMES


class Texts:
    """A stream whose tokens are numbers of texts."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def add(self, token: int) -> str:
        return self._texts[token]

    def finish(self) -> str:
        return ""


class Answer(NamedTuple):
    """What was told, joined."""

    text: str
    reasoning: str
    calls: list[tuple[str, str]]

    @property
    def parsed(self) -> list[tuple[str, Any]]:
        return [(name, json.loads(arguments)) for name, arguments in self.calls]


def read(texts: Iterable[str], form: AnswerFormat) -> Answer:
    texts = list(texts)
    reader = AnswerReader(Texts(texts), (), form)
    pieces = [piece for token in range(len(texts)) for piece in reader.add(token)]
    told = {"text": "", "reasoning": ""}
    calls: list[tuple[str, str]] = []
    for piece in [*pieces, *reader.finish()]:
        if piece.kind == "call":
            assert piece.number in (len(calls), len(calls) - 1)
            assert bool(piece.name) == (piece.number == len(calls))
            if piece.name:
                calls.append((piece.name, ""))
            name, arguments = calls[-1]
            calls[-1] = name, arguments + piece.text
        else:
            assert piece.text
            told[piece.kind] += piece.text
    assert reader.num_calls == len(calls)
    return Answer(told["text"], told["reasoning"], calls)


def cuts(text: str) -> Iterable[list[str]]:
    """The text whole, in single characters, and in two pieces at every place."""
    yield [text]
    yield list(text)
    for place in range(1, len(text)):
        yield [text[:place], text[place:]]


def tagged(call_open: str, name_close: str, call_close: str, tags: Tags) -> CallSyntax:
    return CallSyntax("", call_open, name_close, call_close, "", "\n", "tagged", tags)


SYNTAXES: dict[str, CallSyntax] = {
    "objects between tags": HERMES,
    "a list of objects": CallSyntax(
        "<calls>[", '{"name": "', '", "arguments": ', "}", "]</calls>", ", "
    ),
    "objects with ids": CallSyntax(
        "[CALLS] [", '{"name": "', '", "arguments": ', ', "id": "{id}"}', "]", ", "
    ),
    "names as keys": CallSyntax("<|prefix|>[", '{"', '": ', "}", "]<|suffix|>", ", "),
    "objects alone": CallSyntax("", '{"name": "', '", "parameters": ', "}", ""),
    "marks": CallSyntax("", "[CALL]", "[ARGS]", "", "", ""),
    "marks and ids": CallSyntax("", "[CALL]", "[ID]{id}[ARGS]", "", "", ""),
    "numbers": CallSyntax(
        "<|section|>", "<|call|>functions.", ":{index}<|args|>", "<|end|>", "<|section_end|>", ""
    ),
    "ids before names": CallSyntax(
        "<|calls|>", "<|begin|>{id}<|name|>", "<|args|>", "<|close|>", "", ""
    ),
    "JSON in a block of code": CallSyntax(
        "<|calls|>", "<|call|>function<|sep|>", "\n```json\n", "\n```<|end|>", "<|calls_end|>", "\n"
    ),
    "tags on lines of their own": tagged(
        "<call>\n<function=", ">\n", "</function>\n</call>",
        Tags("<parameter=", ">\n", "\n</parameter>\n"),
    ),
    "tags in a row": tagged("<call>", "", "</call>", Tags("<key>", "</key><value>", "</value>")),
    "tags and lines": tagged(
        "<call>", "\n", "</call>", Tags("<key>", "</key>\n<value>", "</value>\n")
    ),
    "tags that say if it is a string": tagged(
        '<do name="', '">\n', "</do>", Tags('<of name="', '" string="{is_string}">', "</of>\n")
    ),
    "tags that say the type": tagged(
        "<call ", ">", "</call>", Tags('<of key="', '" type="{type}">', "</of>")
    ),
    "keys as tags": tagged('<do name="', '">', "</do>", Tags("<", ">", "</{key}>")),
    "the name twice": tagged(
        "<call to=", '>\n<do name="{name}">\n', "</do></call>", Tags("<of ", ">", "</of>\n")
    ),
    "Python": CallSyntax(
        "<|start|>[", "", "(", ")", "]<|end|>", ", ", "python", Tags("", "=", "", ", ")
    ),
    "bare words": CallSyntax("", "<|call>call:", "", "<call|>", "", "", "bare", quote='<|"|>'),
}  # fmt: skip

PARAMETERS: dict[str, Json] = {
    "look_up": {
        "type": "object",
        "properties": {
            "town": {"type": "string"},
            "days": {"type": "integer"},
            "rate": {"type": "number"},
            "deep": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "near": {"$ref": "#/$defs/place"},
            "word": {"type": ["string", "null"]},
        },
        "$defs": {"place": {"type": "object"}},
    },
    "stop": {"type": "object", "properties": {}},
}

__all__ = ["HARMONY", "HERMES", "PARAMETERS", "SYNTAXES", "Answer", "cuts", "read"]
