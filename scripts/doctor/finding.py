"""What was looked at, how it is, and what to do about it."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["problem", "warning", "note", "ok"]  # the worst first
LEVELS: tuple[Level, ...] = ("problem", "warning", "note", "ok")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was checked."""

    checked: str
    level: Level
    sentence: str
    remedy: str | None = None  # what to do; None: nothing is to be done


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """By level; within one as they were found."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether the exit status is 1."""
    return any(finding.level == "problem" for finding in findings)
