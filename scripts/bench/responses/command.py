"""All of `mlx-edge bench --responses`, and its report."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from scripts.bench.measure import machine
from scripts.bench.memory.bench import Bench
from scripts.bench.servers import OUR_CORE, pin_to

from . import beside_chat, resumed, stored
from .beside_chat import Beside, Compared
from .resumed import Replay
from .stored import Archive, Create


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured, and where. Times in seconds."""

    machine: str
    pinned: bool
    share: float
    load_average: float  # of the last 15 minutes, at the end
    beside_chat: Sequence[Beside]
    archive: Archive
    replays: Sequence[Replay]


def measure(
    folder: Path | None, rounds: int, share: float, pin: bool, say: Callable[[str], None]
) -> Report:
    """`folder` is of the model that chat and responses are compared with."""
    if pin:
        pin_to(os.getpid(), {OUR_CORE})
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(Path(work), pin, rounds, share, say)
        beside = beside_chat.measure(bench, folder or bench.model("full"))
        archive = stored.measure(bench)
        replays = resumed.measure(bench)
    return Report(machine(), pin, share, os.getloadavg()[2], beside, archive, replays)


def run(folder: Path | None, rounds: int, share: float, pin: bool, json: Path | None) -> None:
    """Measure, print a line for each figure, write the report."""
    report = measure(folder, rounds, share, pin, Console(stderr=True).print)
    show(report, Console())
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def show(report: Report, console: Console) -> None:
    """In lines."""
    for line in _lines(report):
        console.print(line, highlight=False)


def _lines(report: Report) -> Iterator[str]:
    for beside in report.beside_chat:
        yield from _beside(beside)
    for create in report.archive.creates:
        yield from _create(create)
    for retrieve in report.archive.retrieves:
        yield (
            f"Retrieved, {_kind(retrieve.number, retrieve.is_chain)}: "
            f"{_p50_p99(retrieve.round_trip_s)} for a round trip, "
            f"{1e3 * retrieve.web_cpu_s:.2f} ms of the web process's CPU."
        )
    for replay in report.replays:
        low, high = (1e3 * seconds for seconds in replay.range_s)
        yield (
            f"Told again {replay.way}: {replay.num_events} events, {replay.num_bytes / 1e3:.0f} "
            f"kB, in {1e3 * replay.median_s:.0f} ms ({low:.0f}-{high:.0f})."
        )
    yield (
        f"On {report.machine}; load average {report.load_average:.1f}"
        f"{'; pinned' if report.pinned else ''}"
        f"{f'; {report.share:g} of the work' if report.share != 1 else ''}."
    )


def _beside(beside: Beside) -> Iterator[str]:
    name = "stored" if beside.stores else "not stored"
    streams = f"{beside.num_streams} stream{'s' if beside.num_streams > 1 else ''}"
    speed, cpu = beside.tokens_per_s, beside.web_cpu_per_token_s
    yield (
        f"Over {beside.way}, {streams}, {name}: {_ratio(speed)} of chat's tokens per second "
        f"({speed.ours:.1f} and {speed.chat:.1f}); CPU of the web process per token "
        f"{1e6 * cpu.ours:.0f} us and {1e6 * cpu.chat:.0f} us, {_ratio(cpu)} of chat's."
    )
    event, text = beside.first_event_s, beside.first_text_s
    yield (
        f"  first event after {1e3 * event.ours:.1f} ms and {1e3 * event.chat:.1f} ms, "
        f"{_ratio(event)} of chat's; first text after {1e3 * text.ours:.1f} ms and "
        f"{1e3 * text.chat:.1f} ms, {_ratio(text)}."
    )


def _create(create: Create) -> Iterator[str]:
    sent = create.sent_own_s
    yield (
        f"Created, {_kind(create.number, create.is_chain)}: storing adds "
        f"{_p50_p99(create.added_s)} to what is the server's own of a request, "
        f"{1e3 * create.added_whole_s:.2f} ms to the whole of it (p50)."
    )
    yield (
        f"  the server's own: {_p50_p99(create.own_s)} stored, "
        f"{_p50_p99(create.unstored_own_s)} not stored"
        f"{f', {_p50_p99(sent)} with all that was said sent again' if sent else ''}; CPU of the "
        f"web process {1e3 * create.web_cpu_s:.2f} ms and {1e3 * create.unstored_web_cpu_s:.2f} ms."
    )


def _kind(number: int, is_chain: bool) -> str:
    return f"{number} in one chain" if is_chain else f"{number} separate ones"


def _ratio(compared: Compared) -> str:
    low, high = compared.ratio_range
    return f"{compared.ratio:.3f} ({low:.2f}-{high:.2f})"


def _p50_p99(seconds: tuple[float, float]) -> str:
    return f"{1e3 * seconds[0]:.2f} ms (p99 {1e3 * seconds[1]:.2f})"
