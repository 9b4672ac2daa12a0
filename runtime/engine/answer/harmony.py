"""gpt-oss' headers, spelled in one way: its models write the same one in several."""

import re

from .source import Reading, Source, overlap

_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_FUNCTION = re.compile(r"to=(?:functions\.)?([\w.\-]+)")
_NAMED = re.compile(r"<\|channel\|>\s*(\w+)")
_MAX_CHARS = 512  # of a header


class Headers:
    """Rewrites a stream of text; all but headers stays as it is."""

    def __init__(self, *, has_calls: bool) -> None:
        """Without functions, what is meant for one is said."""
        self._has_calls = has_calls
        self._source = Source()
        self._told = ""
        self._parser = self._answer()

    def add(self, text: str) -> str:
        self._source.text += text
        return self._resumed()

    def finish(self) -> str:
        self._source.is_over = True
        return self._resumed()

    def _resumed(self) -> str:
        next(self._parser, None)
        told, self._told = self._told, ""
        return told

    def _answer(self) -> Reading[None]:
        source = self._source
        beginnings: tuple[str, ...] = (_START, _CHANNEL, "to=")  # the prompt has the first one
        self._told += yield from source.blanks()
        while True:
            source.keep()
            if (found := (yield from source.mark(*beginnings))) is not None:
                header = yield from source.until(_MESSAGE, limit=_MAX_CHARS)
                told = source.kept()
                if header is not None:
                    yield from source.mark(_MESSAGE)
                    told = self._spelled(found + header)
                self._told += told
            else:
                self._told += source.kept() + source.take(1)
            beginnings = (_START, _CHANNEL)
            if not (yield from self._text(beginnings)):
                return

    def _text(self, marks: tuple[str, ...]) -> Reading[bool]:
        """Tell text up to where a header may begin; False at the end of the answer."""
        source = self._source
        while True:
            places = [at for mark in marks if (at := source.text.find(mark)) >= 0]
            if places:
                self._told += source.take(min(places))
                return True
            held = max(overlap(source.text, mark) for mark in marks)
            self._told += source.take(len(source.text) - held)
            if not (yield from source.more()):
                self._told += source.take(len(source.text))
                return False

    def _spelled(self, header: str) -> str:
        """As the template's marks are: a call, a thought, or something that is said."""
        start = f"{_START}assistant" if header.startswith(_START) else ""
        function, named = _FUNCTION.search(header), _NAMED.search(header)
        channel = "analysis" if named is not None and named[1] == "analysis" else "final"
        if function is not None:
            called = f"commentary to=functions.{function[1]} <|constrain|>json"
            channel = called if self._has_calls else "final"
        return f"{start}{_CHANNEL}{channel}{_MESSAGE}"
