"""All cases of `mlx-edge bench --memory`, by name, and their report."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Console

from scripts.bench.measure import machine
from scripts.bench.memory import conversation, engine, restart, session, shared, soak, speed
from scripts.bench.memory.bench import Bench
from scripts.bench.memory.figure import Figure, Skipped, show

CASES: Mapping[str, Callable[[Bench], Iterator[Figure | Skipped]]] = {
    "conversation": conversation.measure,
    "session": session.measure,
    "shared": shared.measure,
    "restart": restart.measure,
    "hit": engine.measure_hit,
    "predicted": engine.measure_predicted,
    "arrivals": speed.measure_arrivals,
    "stall": speed.measure_stall_beside,
    "soak": soak.measure,
}


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured, and where."""

    machine: str
    versions: Mapping[str, str]
    pinned: bool
    share: float
    load_average: float  # of the last 15 minutes, at the end
    figures: Sequence[Figure]
    skipped: Sequence[Skipped]


def measure(
    names: Sequence[str], rounds: int, share: float, pin: bool, say: Callable[[str], None]
) -> Report:
    """The cases of these names, one after the other."""
    told: list[Figure | Skipped] = []
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(Path(work), pin, rounds, share, say)
        for name in names:
            told += CASES[name](bench)
    return Report(
        machine(),
        {name: version(name) for name in ("mlx", "mlx-lm")},
        pin,
        share,
        os.getloadavg()[2],
        [each for each in told if isinstance(each, Figure)],
        [each for each in told if isinstance(each, Skipped)],
    )


def run(names: Sequence[str], rounds: int, share: float, pin: bool, json: Path | None) -> None:
    """Measure, print the table, write the report."""
    report = measure(names, rounds, share, pin, Console(stderr=True).print)
    console = Console()
    show(report.figures, report.skipped, console)
    console.print(
        f"On {report.machine}; load average {report.load_average:.1f}"
        f"{'; pinned' if pin else ''}{f'; {share:g} of the work' if share != 1 else ''}.",
        highlight=False,
    )
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
