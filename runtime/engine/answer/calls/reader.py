"""Calls of functions in a stream of text, as the model writes them.

A call of a function that was offered is told from its name on, while its arguments still come. Of
any other function, only a whole call is told: clients report the unknown name to the model. What
is no call in the end is text, and nothing of it is lost.
"""

import json
import re
from collections.abc import Mapping

from registry.checkpoint.call_syntax import CallSyntax
from registry.checkpoint.config import Json
from runtime.engine.answer.piece import Piece
from runtime.engine.answer.source import Reading, Source, overlap

from .arguments import PythonArguments, read_bare, read_json, read_value
from .marks import Keys, Marks
from .values import is_sound

_NAME = re.compile(r"[\w.\-:/]{1,256}")
_MAX_MARK = 256  # characters between two marks of a call, such as its id


class CallReader:
    """Of one row. Its state follows from the text it was given."""

    def __init__(self, syntax: CallSyntax, parameters: Mapping[str, Json]) -> None:
        """`parameters` of each function that was offered, as JSON Schema."""
        self.num_calls = 0
        self._syntax = syntax
        self._parameters = parameters
        self._source = Source()
        self._told: list[Piece] = []
        self._may_begin = True  # nothing was said yet where a call may stand without a mark
        self._has_said = False
        self._marks = Marks(syntax)
        self._parser = self._answer()

    def begin(self, is_speech: bool) -> None:
        """A part of the answer begins: if it is no speech, a call may stand there that is marked by
        nothing else."""
        self._may_begin = not is_speech

    def add(self, text: str) -> list[Piece]:
        """What this makes certain, often nothing."""
        self._source.text += text
        return self._resumed() if text else []

    def finish(self) -> list[Piece]:
        """The rest, when no more text comes."""
        self._source.is_over = True
        return self._resumed()

    def _resumed(self) -> list[Piece]:
        next(self._parser, None)
        told, self._told = self._told, []
        return told

    def _say(self, text: str) -> None:
        if text:
            self._has_said = True
            self._told.append(Piece("text", text))

    # --- a call's own pieces ------------------------------------------------------------------

    def _begin_call(self, name: str) -> None:
        self._source.kept()  # it is told: nothing goes back
        self._told.append(Piece("call", "", self.num_calls, name))
        self.num_calls += 1

    def _tell(self, text: str) -> None:
        """More of the arguments of the call that was begun last."""
        last = self._told[-1] if self._told else None
        if last is not None and last.kind == "call":
            self._told[-1] = last._replace(text=last.text + text)
        else:
            self._told.append(Piece("call", text, self.num_calls - 1))

    # --- the answer ---------------------------------------------------------------------------

    def _answer(self) -> Reading[None]:
        while True:
            blanks = yield from self._text()
            if blanks is None:
                return
            if not (yield from self._call()):
                self._say(blanks + self._source.kept())
                continue
            while (yield from self._is_followed()):
                if not (yield from self._call()):
                    self._say(self._source.kept())
                    break
            self._may_begin = True

    def _text(self) -> Reading[str | None]:
        """Tell text up to the mark of a call, which is read; None at the end of the answer.

        Returns the blanks before the mark, which belong to it.
        """
        if self._marks.is_unmarked:
            return (yield from self._unmarked_text())
        source, mark = self._source, self._marks.opening
        first = mark.split()[0]
        while True:
            at = source.text.find(first)
            end = at if at >= 0 else len(source.text) - overlap(source.text, first)
            self._say(source.take(len(source.text[:end].rstrip())))
            if at < 0:
                if not (yield from source.more()):
                    self._say(source.take(len(source.text)))
                    return None
                continue
            blanks = yield from source.blanks()
            source.keep()
            if (yield from source.mark(mark)) is not None:
                return blanks
            source.kept()
            self._say(blanks + source.take(len(first)))

    def _unmarked_text(self) -> Reading[str | None]:
        source = self._source
        while True:
            if self._may_begin:
                blanks = yield from source.blanks()
                source.keep()
                self._may_begin = not source.text  # there may be more that is empty
                if source.text:
                    mark = self._marks.opening
                    is_call = not mark or (yield from source.mark(mark)) is not None
                    if is_call and (self._marks.json is None or source.text.startswith("{")):
                        return blanks
                self._say(blanks + source.kept())
            self._say(source.take(len(source.text)))
            if not (yield from source.more()):
                return None

    def _is_followed(self) -> Reading[bool]:
        """Read what stands behind a call. Whether another one begins, whose mark is read."""
        source, marks = self._source, self._marks
        is_section, has_comma = bool(marks.section_close), False
        while True:
            blanks = yield from source.blanks()
            if is_section and source.text[:1] == ",":
                source.take(1)
                has_comma = True
                continue
            source.keep()
            if is_section and not marks.call and self._stands_here(has_comma):
                return True
            calls = [mark for mark in (marks.opening, marks.call) if mark]
            found = yield from source.mark(*calls, *marks.closing)
            if found in calls:
                return True
            source.kept()
            if found is None:
                if self._has_said and source.text:
                    self._say(blanks)  # between two texts it is theirs
                return False
            is_section = is_section and found != marks.section_close

    def _stands_here(self, has_comma: bool) -> bool:
        """Whether a call begins that has no mark of its own within its section."""
        if self._marks.json is not None:
            return self._source.text.startswith("{")
        return has_comma and bool(_NAME.match(self._source.text))

    # --- one call, behind its mark ------------------------------------------------------------

    def _call(self) -> Reading[bool]:
        """Whether it is one: then it was told. Else what was read is kept."""
        if self._marks.json is not None:
            return (yield from self._in_json(self._marks.json))
        for mark in self._marks.lead:
            if (yield from self._skipped_to(mark)) is None:
                return False
        name = yield from self._name()
        if name is None:
            return False
        return (yield from self._arguments(name))

    def _skipped_to(self, mark: str) -> Reading[str | None]:
        """Read what fills a slot, and the mark behind it."""
        filled = yield from self._source.until(mark.split()[0], limit=_MAX_MARK)
        return None if filled is None else (yield from self._source.mark(mark))

    def _name(self) -> Reading[str | None]:
        """The function's name, and the marks behind it."""
        marks = self._marks
        found = yield from self._source.until(*marks.behind_name, limit=_MAX_MARK)
        name = (found or "").strip()
        if not self._is_name(name):
            return None
        first, *others = marks.name_close or [""]
        if first and (yield from self._source.mark(first)) is None:
            return name if marks.tagged is not None else None
        for mark in others:
            if (yield from self._skipped_to(mark)) is None:
                return None
        return name

    def _is_name(self, name: str) -> bool:
        return name in self._parameters or _NAME.fullmatch(name) is not None

    def _arguments(self, name: str) -> Reading[bool]:
        source, marks, schema = self._source, self._marks, self._parameters.get(name)
        if self._syntax.style == "bare":
            value = yield from read_bare(source, self._syntax.quote)
            return value is not None and self._tell_whole(name, value)
        if self._syntax.style == "json":
            yield from source.blanks()
            if not source.text.startswith("{"):
                return False
        elif marks.is_unmarked and name not in self._parameters:
            return False
        texts: list[str] = []
        tell = texts.append
        if name in self._parameters:
            self._begin_call(name)
            tell = self._tell
        if marks.tagged is not None:
            is_whole = yield from marks.tagged.read(source, schema, tell)
        elif self._syntax.style == "python":
            is_whole = yield from PythonArguments().read(source, schema, tell)
        else:
            is_whole = yield from read_json(source, tell)
        if name in self._parameters:
            return True
        return is_whole and not marks.is_unmarked and self._tell_whole(name, "".join(texts))

    def _tell_whole(self, name: str, arguments: str) -> bool:
        self._begin_call(name)
        self._tell(arguments)
        return True

    def _in_json(self, keys: Keys) -> Reading[bool]:
        """A call that is a JSON object, its name and its arguments among the members."""
        source, name, arguments, is_told = self._source, None, None, False
        yield from source.blanks()
        if (yield from source.mark("{")) is None:
            return False
        while True:
            key = yield from self._member()
            if key is None:
                break
            if keys.name is None and name is None:
                name, key = key, keys.arguments
            elif key == keys.name:
                value = yield from read_value(source)
                name = _string(value)
            if name is not None and not self._is_name(name):
                return False
            if key == keys.name:
                if name is None or (self._marks.is_unmarked and name not in self._parameters):
                    return False
            elif not is_told and key in (keys.arguments, "arguments", "parameters"):
                yield from source.blanks()
                if name is not None and name in self._parameters and source.text[:1] == "{":
                    self._begin_call(name)
                    is_told = True
                    if not (yield from read_json(source, self._tell)):
                        return True
                else:
                    arguments = yield from read_value(source)
            elif self._marks.is_unmarked and key not in ("type", "id"):
                return False
            else:
                yield from read_value(source)
            yield from source.blanks()
            if (yield from source.mark(",")) is None:
                break
        is_closed = (yield from source.mark("}")) is not None
        if not is_told and is_closed and name:
            is_told = self._tell_whole(name, _object(arguments))
        return is_told

    def _member(self) -> Reading[str | None]:
        """A member's key, and the colon."""
        source = self._source
        yield from source.blanks()
        if not source.text.startswith('"'):
            return None
        value = yield from read_value(source)
        key = _string(value)
        yield from source.blanks()
        return key if (yield from source.mark(":")) is not None else None


def _string(value: str | None) -> str | None:
    """What a JSON string says; None if it is none."""
    try:
        said = json.loads(value or "null")
    except ValueError:
        return None
    return said if isinstance(said, str) else None


def _object(arguments: str | None) -> str:
    """Arguments that stand as a string hold JSON themselves; none are an empty object."""
    if arguments is None or arguments.strip() in ("null", '""'):
        return "{}"
    said = _string(arguments)
    if said is not None and said.lstrip().startswith("{") and is_sound(said):
        return said
    return arguments.strip()
