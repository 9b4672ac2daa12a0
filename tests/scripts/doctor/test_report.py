"""Tests of findings as people read them."""

import click
import pytest

from scripts.doctor import report
from scripts.doctor.finding import Finding

FOUND = [
    Finding("chip", "ok", "Apple M3 Max"),
    Finding("key", "note", "it is the usual one", "Choose another."),
    Finding("home", "problem", "a sentence that is long " * 12, "Do this. " * 20),
]


def test_the_worst_comes_first_and_columns_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than the terminal, and what is wrapped stays in its column."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = [click.unstyle(line) for line in report.lines(FOUND)]
    assert [line[0] for line in lines if line and line[0] in "✗!·✓"] == ["✗", "·", "✓"]
    assert max(map(len, lines)) <= 80 and any("→ Do this." in line for line in lines)
    assert lines[-1] == "1 problem, 1 note; 1 of 3 checks are fine."


def test_a_clean_bill() -> None:
    assert [*report.lines(FOUND[:1])][-1] == "Nothing is wrong; 1 of 1 checks are fine."


def test_a_command_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in one line, wherever the others are broken."""
    monkeypatch.setenv("COLUMNS", "60")
    command = "`mlx-edge serve --port 8084`"
    for start in range(40):
        remedy = "x" * start + f" or so, then {command}, and again {command}."
        found = Finding("port", "problem", "held", remedy)
        text = click.unstyle("\n".join(report.lines([found])))
        assert text.count(command) == 2
