"""Findings as people read them: what is wrong first, each with what to do."""

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
_WIDEST = 110


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The worst first, and how many there are of each."""
    for finding in worst_first(findings):
        yield from _of(finding)
    yield ""
    yield _summary(findings)


def _of(finding: Finding) -> Iterator[str]:
    mark, colour = _MARKS[finding.level]
    head = f"{finding.checked:{_CHECKED_WIDTH}}"
    first, *others = _wrapped(finding.sentence)
    yield f"{click.style(mark, fg=colour)} {click.style(head, bold=finding.level != 'ok')} {first}"
    yield from map(_indented, others)
    if finding.remedy is not None:
        first, *others = _wrapped(finding.remedy, indent=2)
        yield _indented(f"→ {first}")
        yield from (_indented(f"  {line}") for line in others)


def _wrapped(text: str, indent: int = 0) -> list[str]:
    columns = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    width = max(30, columns - _CHECKED_WIDTH - 3 - indent)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _indented(line: str) -> str:
    return " " * (_CHECKED_WIDTH + 3) + line


def _summary(findings: Iterable[Finding]) -> str:
    levels = [finding.level for finding in findings]
    told = [
        f"{count} {level}{'s' if count != 1 else ''}"
        for level in LEVELS
        if level != "ok" and (count := levels.count(level))
    ]
    good = levels.count("ok")
    return f"{', '.join(told) or 'Nothing is wrong'}; {good} of {len(levels)} checks are fine."
