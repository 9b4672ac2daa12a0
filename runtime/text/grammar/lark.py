"""Rules of a Lark grammar, put together from literal text, regular expressions and schemas."""

import json
import re
from collections.abc import Mapping
from functools import cached_property

# The free text of a model, any characters at all.
ANY = "/(?s:.*)/"
# How text is cut into tokens is left to the model: nothing is forced.
OPTIONS = '%llguidance {"no_forcing": true}'


def quoted(text: str) -> str:
    """A text as Lark writes it."""
    return json.dumps(text)


class Rules:
    """The rules of one grammar, each under a name of its own."""

    def __init__(self, specials: Mapping[str, int]) -> None:
        """`specials` are the tokens of the model that are no text, such as most marks."""
        self._specials = specials
        self._rules: dict[str, str] = {}

    def add(self, body: str, *, lazy: bool = False, is_terminal: bool = False) -> str:
        """A new rule's name; a lazy one ends as soon as it can."""
        name = self.reserve(is_terminal=is_terminal)
        self._rules[name] = f"{name}{'[lazy]' if lazy else ''}: {body}"
        return name

    def reserve(self, *, is_terminal: bool = False) -> str:
        """A name of a rule that is defined later, so that it may stand in itself."""
        name = f"{'T' if is_terminal else 'r'}{len(self._rules)}"
        self._rules[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        self._rules[name] = f"{name}: {body}"

    def grammar(self, start: str) -> str:
        return "\n".join((OPTIONS, f"start: {start}", *self._rules.values()))

    def literal(self, text: str) -> str:
        """A text in which special tokens may stand; nothing for an empty one."""
        parts = self._split.split(text) if self._specials else [text]
        return " ".join(
            f"<[{self._specials[part]}]>" if part in self._specials else quoted(part)
            for part in parts
            if part
        )

    def is_special(self, text: str) -> bool:
        return text in self._specials

    def until(self, mark: str) -> str:
        """Free text and then the mark, for the first time."""
        head, rest = self.first(mark)
        if head in self._specials:
            return f"{ANY} {self.literal(mark)}"
        # Lazy: nothing that has the mark in it goes on as free text.
        end = self.add(f"/(?s:.*){escaped(head)}/", lazy=True)
        return f"{end} {self.literal(rest)}"

    def without(self, mark: str) -> str:
        """Free text in which the mark does not stand."""
        head, _ = self.first(mark)
        if head in self._specials:
            return ANY
        return self.add(f"{ANY} & ~/(?s:.*){escaped(head)}(?s:.*)/", is_terminal=True)

    def not_beginning(self, mark: str) -> str:
        """Free text that does not begin with the mark."""
        head, _ = self.first(mark)
        if head in self._specials:
            return ANY
        return self.add(f"{ANY} & ~/{escaped(head)}(?s:.*)/", is_terminal=True)

    def first(self, mark: str) -> tuple[str, str]:
        """What a mark begins with, one special token or text without any; and the rest."""
        found = self._split.search(mark) if self._specials else None
        if found is None:
            return mark, ""
        at = found.end() if found.start() == 0 else found.start()
        return mark[:at], mark[at:]

    @cached_property
    def _split(self) -> "re.Pattern[str]":
        longest_first = sorted(self._specials, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")


def escaped(text: str) -> str:
    """A text in a regular expression of Rust's, between slashes."""
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)
