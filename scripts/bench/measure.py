"""The whole bench: every cell on every server, then latency, start and memory."""

import asyncio
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import psutil

from scripts.bench.cell import Cell, cells, prompts
from scripts.bench.channel import Channel, measure_channel
from scripts.bench.client import Endpoint, Throughput, together
from scripts.bench.latency import Cancel, Stall, measure_cancel, measure_stall
from scripts.bench.servers import OurServer, Yardstick, environment, mlx_lm_server

_CELL_S = 45.0  # a cell that took this long is not repeated: long prompts are slow on a CPU
MLX_LM = "mlx_lm"  # as a peer: its server is started here, on the same model


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose."""

    streams: tuple[int, ...] = (1, 4, 16)
    vocab_sizes: tuple[int, ...] = (8192, 32768)
    folder: Path | None = None  # a model of one's own instead of random ones
    rounds: int = 3
    full: bool = False
    pin: bool = False
    against: str | None = None  # MLX_LM, or the base URL of a server
    peer_model: str = ""
    peer_key: str = "none"


@dataclass(frozen=True, slots=True)
class Row:
    """A cell, measured: medians over the rounds, and ratios of what ran in the same round."""

    cell: Cell
    ours: Throughput
    yardstick_tokens_per_s: float
    ratio: float
    ratio_range: tuple[float, float]
    peer: Throughput | None
    peer_ratio: float | None


@dataclass(frozen=True, slots=True)
class Start:
    """From the command to an answer on /health, and the parts' memory with one model loaded."""

    health_s: float
    web_cpu_s: float  # of it, what the web process computed itself
    web_bytes: int  # memory of the web process then
    load_s: float
    memory_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured, and where."""

    machine: str
    versions: dict[str, str]
    pinned: bool
    peer: str | None
    rows: list[Row]
    cancel: Cancel
    stall: Stall
    channel: Channel
    start: Start


def num_steps(options: Options) -> int:
    """How often `on_step` is called."""
    return len(cells(options.streams, _vocab_sizes(options), options.full)) * options.rounds + 3


def measure(options: Options, on_step: Callable[[str], None]) -> Report:
    """Run everything; `on_step` is told what was done, for a progress bar."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        work = Path(name)
        folders = _models(work, options)
        server = OurServer(
            work / "home", {_name(size): folder for size, folder in folders.items()}, options.pin
        )
        stack.callback(server.close)
        rows = []
        load_s = 0.0
        for size, folder in folders.items():
            load_s = server.load(_name(size)) or load_s
            endpoint = server.endpoint(_name(size))
            chosen = cells(options.streams, list(folders), options.full)
            with _yardstick(folder, options.pin) as yardstick, _peer(folder, options) as peer:
                for cell in (cell for cell in chosen if cell.vocab_size == size):
                    rows.append(
                        _measure_cell(
                            cell, folder, endpoint, yardstick, peer, options.rounds, on_step
                        )
                    )
        first, folder = next(iter(folders.items()))
        load_s = server.load(_name(first))
        memory = server.memory()
        endpoint = server.endpoint(_name(first))
        cancel = asyncio.run(measure_cancel(endpoint, folder))
        on_step("cancel")
        stall = asyncio.run(measure_stall(endpoint, folder))
        on_step("stall")
        with _yardstick(folder, options.pin) as yardstick:
            web = psutil.Process(server.process.pid)
            channel = asyncio.run(measure_channel(endpoint, folder, web, yardstick, options.rounds))
        on_step("channel")
        start = Start(server.start_s, server.start_cpu_s, server.web_bytes, load_s, memory)
    versions = {name: version(name) for name in ("mlx", "mlx-lm")}
    return Report(
        machine(), versions, options.pin, options.against, rows, cancel, stall, channel, start
    )


def _measure_cell(
    cell: Cell,
    folder: Path,
    endpoint: Endpoint,
    yardstick: Yardstick,
    peer: Endpoint | None,
    rounds: int,
    on_step: Callable[[str], None],
) -> Row:
    """Servers take turns within a round, so that a drift of the machine hits all of them."""
    parameters = {
        "max_tokens": cell.max_tokens,
        "temperature": cell.sampling.temperature,
        "top_p": cell.sampling.top_p,
    }
    ours, bare, theirs = [], [], []
    until = time.monotonic() + _CELL_S
    for number in range(-1, rounds):  # the first is a warm-up
        if number > 0 and time.monotonic() > until:
            on_step("")
            continue
        # A warm-up of 16 long prompts would take as long as a round: few tokens are enough.
        length = cell.prompt_tokens if number >= 0 else min(cell.prompt_tokens, 100)
        texts = prompts(folder, cell.num_streams, length, seed=crc32(f"{cell} {number}".encode()))
        ours.append(asyncio.run(together(endpoint, texts, **parameters)))
        bare.append(yardstick.tokens_per_s(texts, **parameters))
        if peer is not None:
            theirs.append(asyncio.run(together(peer, texts, **parameters)))
        if number >= 0:
            on_step(f"{cell.num_streams} x {cell.prompt_tokens} {cell.sampling.name}")
    ours, bare, theirs = ours[1:], bare[1:], theirs[1:]
    ratios = sorted(a.tokens_per_s / b for a, b in zip(ours, bare, strict=True))
    peer_ratios = sorted(
        a.tokens_per_s / b.tokens_per_s for a, b in zip(ours, theirs, strict=bool(theirs))
    )
    return Row(
        cell,
        _middle(ours),
        sorted(bare)[len(bare) // 2],
        ratios[len(ratios) // 2],
        (ratios[0], ratios[-1]),
        _middle(theirs) if theirs else None,
        peer_ratios[len(peer_ratios) // 2] if peer_ratios else None,
    )


def _middle(values: Sequence[Throughput]) -> Throughput:
    return sorted(values, key=lambda value: value.tokens_per_s)[len(values) // 2]


def _vocab_sizes(options: Options) -> Sequence[int]:
    return (0,) if options.folder else options.vocab_sizes


def _name(vocab_size: int) -> str:
    return f"bench-{vocab_size}" if vocab_size else "bench"


def _models(work: Path, options: Options) -> dict[int, Path]:
    """The folders to measure, by vocabulary size."""
    if options.folder:
        return {0: options.folder}
    folders = {size: work / str(size) for size in options.vocab_sizes}
    for size, folder in folders.items():
        subprocess.run(
            [sys.executable, "-m", "scripts.bench.random_model", str(folder), str(size)],
            check=True, env=environment(pin=False),
        )  # fmt: skip
    return folders


@contextmanager
def _yardstick(folder: Path, pin: bool) -> Iterator[Yardstick]:
    yardstick = Yardstick(folder, pin)
    try:
        yield yardstick
    finally:
        yardstick.close()


@contextmanager
def _peer(folder: Path, options: Options) -> Iterator[Endpoint | None]:
    if options.against is None:
        yield None
    elif options.against == MLX_LM:
        with mlx_lm_server(folder, options.pin) as endpoint:
            yield endpoint
    else:
        yield Endpoint(options.against.rstrip("/"), options.peer_model, options.peer_key)


def machine() -> str:
    """The machine in words: system, processor, cores, memory."""
    memory = psutil.virtual_memory().total / 2**30
    cores = psutil.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, {_processor()}, {cores} cores, {memory:.0f} GB"
    )


def _processor() -> str:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
