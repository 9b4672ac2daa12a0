"""The arguments of a call, however the model writes them, to JSON; told as soon as they are
certain."""

import re
from collections.abc import Callable
from typing import TypeAlias

from registry.checkpoint.call_syntax import Tags
from registry.checkpoint.config import Json
from runtime.engine.answer.source import Reading, Source, match, overlap

from .json_scanner import JsonScanner
from .values import (
    escaped,
    is_string,
    json_of,
    json_of_bare,
    json_of_nested,
    json_of_python,
    types_of,
)

Tell: TypeAlias = Callable[[str], None]  # more of the JSON

_TYPE = re.compile(r"\{(?:is_string|type)\}")
_CDATA = "<![CDATA["
_KEYWORD = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)")


def read_json(source: Source, tell: Tell) -> Reading[bool]:
    """One value as it stands. Returns whether it is whole."""
    scanner = JsonScanner()
    while True:
        if text := source.take(scanner.feed(source.text)):
            tell(text)
        if scanner.is_over or not (yield from source.more()):
            return scanner.is_over


def read_value(source: Source) -> Reading[str | None]:
    """The whole text of one JSON value; None if it does not end."""
    texts: list[str] = []
    is_whole = yield from read_json(source, texts.append)
    return "".join(texts) if is_whole else None


class _Members:
    """Members of a JSON object, one after the other."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.is_begun = False

    def begin(self, key: str) -> None:
        self._tell(f'{", " if self.is_begun else "{"}"{escaped(key)}": ')
        self.is_begun = True

    def end(self) -> None:
        self._tell("}" if self.is_begun else "{}")


class TaggedArguments:
    """Each between tags; a string as it stands, anything else as JSON."""

    def __init__(self, tags: Tags, call_close: str) -> None:
        self._tags = tags
        self._call_close = call_close.strip()
        self._key_open = tags.key_open.strip()
        self._key_marks = [mark.strip() for mark in _TYPE.split(tags.key_close)]

    def read(self, source: Source, parameters: Json, tell: Tell) -> Reading[bool]:
        """Returns whether the call was closed; what is no argument is left."""
        members = _Members(tell)
        while True:
            yield from source.blanks()
            found = yield from source.mark(*filter(None, (self._key_open, self._call_close)))
            if found is None and not members.is_begun and (yield from self._in_json(source, tell)):
                return True
            if found == self._key_open:
                if (yield from self._argument(source, parameters, members, tell)):
                    continue
                if source.is_over:
                    return False
            if found is not None or not source.is_over:
                members.end()
            return (found or "") == self._call_close

    def _in_json(self, source: Source, tell: Tell) -> Reading[bool]:
        """Models that write tags know JSON too, perhaps between marks of its own."""
        if not source.text.startswith(("{", "<")):
            return False
        lead = yield from source.until("{", limit=64)
        if lead is None:
            return False
        if lead and not lead.rstrip().endswith(">"):
            source.put_back(lead)
            return False
        if (yield from read_json(source, tell)) and self._call_close:
            yield from source.until(self._call_close.split()[0], limit=64)
            yield from source.mark(self._call_close)
        return True

    def _argument(
        self, source: Source, parameters: Json, members: _Members, tell: Tell
    ) -> Reading[bool]:
        opened = source.mark_read
        key = yield from source.until(self._key_marks[0], limit=256)
        if key is None:
            source.put_back(opened)
            return False
        yield from source.mark(self._key_marks[0])
        key, types = key.strip(), types_of(parameters, key.strip())
        if len(self._key_marks) > 1:
            flag = yield from source.until(self._key_marks[1], limit=16)
            yield from source.mark(self._key_marks[1])
            is_text = flag in ("true", "string")
            types = frozenset(("string",)) if is_text else types - {"string"}
        members.begin(key)
        close = self._tags.value_close.replace("{key}", key)
        yield from self._without_newline(source)
        if is_string(types) and types == {"string"}:
            return (yield from self._string(source, close, tell))
        if self._tags.cdata and (yield from source.mark(_CDATA)) is not None:
            close = "]]>" + close
        text = yield from source.until(close.strip())
        if text is None:
            tell(source.take(len(source.text)))
            return False
        text = self._within(text)
        if "{key}" in self._tags.value_close and text.lstrip().startswith(self._key_open):
            tell(json_of_nested(text, self._key_open, self._key_marks[0], self._tags.value_close))
        else:
            tell(json_of(text, types))
        return (yield from source.mark(close)) is not None

    def _without_newline(self, source: Source) -> Reading[None]:
        """The one behind a tag belongs to the tag."""
        if self._tags.key_close.endswith("\n") and (source.text or (yield from source.more())):
            source.take(source.text.startswith("\n"))

    def _within(self, text: str) -> str:
        return text.removesuffix("\n") if self._tags.value_close.startswith("\n") else text

    def _string(self, source: Source, close: str, tell: Tell) -> Reading[bool]:
        """A string, told as it comes."""
        if self._tags.cdata and (yield from source.mark(_CDATA)) is not None:
            close = "]]>" + close
        mark = close.strip()
        tell('"')
        while (at := source.text.find(mark)) < 0:
            held = overlap(source.text, mark)
            safe = self._within(source.text[: len(source.text) - held])
            if safe:
                tell(escaped(source.take(len(safe))))
            if not (yield from source.more()):
                tell(escaped(source.take(len(source.text))))
                return False
        tell(escaped(self._within(source.take(at))) + '"')
        return (yield from source.mark(close)) is not None


class PythonArguments:
    """Those of a call in Python, behind its opening bracket."""

    def read(self, source: Source, parameters: Json, tell: Tell) -> Reading[bool]:
        """Returns whether the call was closed."""
        members = _Members(tell)
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        names = list(properties) if isinstance(properties, dict) else []
        for number in range(1 << 16):
            text, end = yield from self._argument(source)
            if text.strip() and end:
                found = _KEYWORD.match(text)
                place = names[number] if number < len(names) else f"argument{number}"
                members.begin(found[1] if found else place)
                tell(json_of_python(text[found.end() :] if found else text))
            if end != ",":
                if end:
                    members.end()
                return bool(end)
        return False

    def _argument(self, source: Source) -> Reading[tuple[str, str]]:
        """One of them, and what ends it: a comma, the bracket or nothing."""
        texts: list[str] = []
        depth, quote, is_escaped = 0, "", False
        while True:
            count = len(source.text)
            for place, character in enumerate(source.text):
                if is_escaped:
                    is_escaped = False
                elif quote and character == quote:
                    if not (behind := source.text[place + 1 :].lstrip()) and not source.is_over:
                        count = place  # what follows tells whether it closes
                        break
                    quote = "" if not behind or behind[0] in ",)]}:" else quote
                elif quote:
                    is_escaped = character == "\\"
                elif character in "'\"":
                    quote = character
                elif not depth and character in ",)":
                    texts.append(source.take(place))
                    return "".join(texts), source.take(1)
                else:
                    depth += (character in "([{") - (character in ")]}")
            texts.append(source.take(count))
            if not (yield from source.more()):
                return "".join(texts), ""


def read_bare(source: Source, quote: str) -> Reading[str | None]:
    """The JSON of an object of bare words; None if it is none."""
    texts: list[str] = []
    depth, is_quoted = 0, False
    while True:
        while source.text:
            if source.text[0] == quote[:1] and (end := match(quote, source.text)) != -1:
                if end is None:
                    break  # it may become a quote
                is_quoted = not is_quoted
                texts.append(source.take(end))
                continue
            character = source.take(1)
            texts.append(character)
            if not is_quoted:
                depth += (character == "{") - (character == "}")
                if depth <= 0 and (character == "}" or not character.isspace()):
                    return json_of_bare("".join(texts), quote)
        if not (yield from source.more()):
            return None
