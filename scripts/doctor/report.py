"""Findings as people read them: what is wrong first, each with what to do."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import click

from .finding import LEVELS, Finding, Level, worst_first

_MARKS: dict[Level, tuple[str, str | None]] = {  # a sign, and its colour on a terminal
    "problem": ("✗", "red"),
    "warning": ("!", "yellow"),
    "note": ("·", None),
    "ok": ("✓", "green"),
}
_CHECKED_WIDTH = 14
_INDENT = _CHECKED_WIDTH + 3  # where sentences begin
_WIDEST = 110
_COMMAND = re.compile("`[^`]+`")
_FIXED = "\0"  # a space at which no line is broken


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The worst first, and how many there are of each."""
    for finding in worst_first(findings):
        yield from _of(finding)
    yield ""
    yield _summary(findings)


def _of(finding: Finding) -> Iterator[str]:
    mark, colour = _MARKS[finding.level]
    head = f"{finding.checked:{_CHECKED_WIDTH}}"
    first, *others = wrapped(finding.sentence, _INDENT)
    yield f"{click.style(mark, fg=colour)} {click.style(head, bold=finding.level != 'ok')} {first}"
    yield from map(_indented, others)
    if finding.remedy is not None:
        first, *others = wrapped(finding.remedy, _INDENT + 2)
        yield _indented(f"→ {first}")
        yield from (_indented(f"  {line}") for line in others)


def wrapped(text: str, indent: int) -> list[str]:
    """Lines that fit a terminal behind so many columns; a command stays in one, to be copied."""
    columns = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    kept = _COMMAND.sub(lambda command: command[0].replace(" ", _FIXED), text)
    lines = textwrap.wrap(
        kept, max(30, columns - indent), break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_FIXED, " ") for line in lines] or [""]


def _indented(line: str) -> str:
    return " " * _INDENT + line


def _summary(findings: Iterable[Finding]) -> str:
    levels = [finding.level for finding in findings]
    told = [
        f"{count} {level}{'s' if count != 1 else ''}"
        for level in LEVELS
        if level != "ok" and (count := levels.count(level))
    ]
    good = levels.count("ok")
    return f"{', '.join(told) or 'Nothing is wrong'}; {good} of {len(levels)} checks are fine."
