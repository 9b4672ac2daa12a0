"""One number that was measured, beside what is wanted of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich.console import Console
from rich.table import Table

Unit: TypeAlias = Literal["tokens", "share", "times", "ms", "MB", "count"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What is wanted is `least` and `most`; without either it stands there to compare with."""

    case: str
    name: str
    value: float
    unit: Unit
    least: float | None = None
    most: float | None = None

    @property
    def is_met(self) -> bool | None:
        """None where nothing is wanted."""
        if self.least is None and self.most is None:
            return None
        is_enough = self.least is None or self.value >= self.least
        return is_enough and (self.most is None or self.value <= self.most)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that cannot be measured here, and why."""

    case: str
    reason: str


def show(figures: Sequence[Figure], skipped: Sequence[Skipped], console: Console) -> None:
    """A row for each figure, what is missed in bold."""
    table = Table(title="memory and the prefix cache")
    for name in ("case", "what", "measured", "target", ""):
        table.add_column(name, justify="right" if name in ("measured", "target") else "left")
    for figure in figures:
        verdict = {None: "", True: "met", False: "[bold]missed[/]"}[figure.is_met]
        table.add_row(
            figure.case, figure.name, words(figure.value, figure.unit), wanted(figure), verdict
        )
    console.print(table)
    for each in skipped:
        console.print(f"{each.case}: not measured, {each.reason}", highlight=False)


def words(value: float, unit: Unit) -> str:
    """A value as a person reads it."""
    match unit:
        case "share":
            return f"{100 * value:.1f} %"
        case "times":
            return f"{value:.2f}"
        case "ms" | "MB":
            return f"{value:.{0 if value >= 10 else 1}f} {unit}"
        case "tokens" | "count":
            return f"{value:.0f}"


def wanted(figure: Figure) -> str:
    """The target in words; nothing without one."""
    limits = (("≥", figure.least), ("≤", figure.most))
    return ", ".join(
        f"{sign} {words(limit, figure.unit)}" for sign, limit in limits if limit is not None
    )
