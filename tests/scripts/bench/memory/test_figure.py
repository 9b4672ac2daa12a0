"""Tests of the bench of memory: what is met, and how it is told."""

import io

import pytest
from rich.console import Console

from scripts.bench.memory.figure import Figure, Skipped, Unit, show, wanted, words


@pytest.mark.parametrize(
    ("least", "most", "is_met"),
    [(None, None, None), (2, None, True), (3, None, False), (None, 2, True), (None, 1, False),
     (1, 3, True), (0, 1, False)],
)  # fmt: skip
def test_a_target_is_met_at_its_limit(
    least: float | None, most: float | None, is_met: bool | None
) -> None:
    assert Figure("case", "what", 2, "count", least, most).is_met is is_met


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.9714, "share", "97.1 %"), (1.304, "times", "1.30"), (7.25, "ms", "7.2 ms"),
     (151.4, "ms", "151 ms"), (12, "tokens", "12")],
)  # fmt: skip
def test_values_are_told_as_people_read_them(value: float, unit: Unit, said: str) -> None:
    assert words(value, unit) == said


def test_a_table_has_measured_beside_wanted() -> None:
    figure = Figure("predicted", "full", 1.2, "times", least=1, most=1.1)
    assert wanted(figure) == "≥ 1.00, ≤ 1.10" and wanted(Figure("a", "b", 1, "ms")) == ""
    out = io.StringIO()
    show([figure], [Skipped("restart", "no disk")], Console(file=out, width=100))
    assert "1.20" in out.getvalue() and "missed" in out.getvalue()
    assert "restart: not measured, no disk" in out.getvalue()
