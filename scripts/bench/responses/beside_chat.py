"""Responses beside chat: the same work over the same way, in the same round."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import psutil

from scripts.bench.cell import SHORT, prompts
from scripts.bench.client import Endpoint
from scripts.bench.memory.bench import MODEL, Bench
from scripts.bench.servers import cpu_seconds

from .told import Api, Told
from .ways import Way, lanes, sse

STREAMS = (1, 16)
_ANSWERS = 6  # of a turn at one stream: so many one after the other
_TOKENS = 64
_WAYS: Mapping[str, Callable[[Endpoint, int], AbstractAsyncContextManager[Way]]] = {
    "SSE": sse,
    "socket": lanes,
}
# There and back, so that what drifts hits all alike.
_TURNS: tuple[Api, ...] = ("chat", "unstored", "stored", "stored", "unstored", "chat")


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians; a ratio is of what took turns in the same round."""

    ours: float
    chat: float
    ratio: float
    ratio_range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Beside:
    """Responses by chat. Times in seconds."""

    way: str
    num_streams: int
    stores: bool
    tokens_per_s: Compared
    first_event_s: Compared
    first_text_s: Compared
    web_cpu_per_token_s: Compared


@dataclass(frozen=True, slots=True)
class _Cell:
    """So many streams at once over one way."""

    bench: Bench
    folder: Path
    web: psutil.Process
    way: str
    num_streams: int


@dataclass(slots=True)
class _Work:
    """All answers of one API in a round."""

    seconds: float = 0.0
    web_cpu_s: float = 0.0
    answers: list[Told] = field(default_factory=list)

    def figures(self) -> tuple[float, float, float, float]:
        """Tokens per second, first event, first text, CPU per token."""
        num_tokens = sum(told.num_tokens for told in self.answers)
        return (
            num_tokens / self.seconds,
            statistics.median(told.first_event_s for told in self.answers),
            statistics.median(told.first_text_s for told in self.answers),
            self.web_cpu_s / num_tokens,
        )


def measure(bench: Bench, folder: Path) -> list[Beside]:
    """Over SSE and over the socket, with one stream and with sixteen."""
    with bench.server(folder, "beside-chat") as server:
        web = psutil.Process(server.process.pid)
        return asyncio.run(_all_cells(bench, folder, server.endpoint(MODEL), web))


async def _all_cells(
    bench: Bench, folder: Path, endpoint: Endpoint, web: psutil.Process
) -> list[Beside]:
    found = []
    for name, opening in _WAYS.items():
        for num_streams in STREAMS:
            cell = _Cell(bench, folder, web, name, num_streams)
            async with opening(endpoint, num_streams) as way:
                await _round(cell, way, "warm", 16)
                rounds = []
                for number in range(bench.rounds):
                    rounds.append(await _round(cell, way, str(number), bench.scaled(_TOKENS, 16)))
                    bench.say(f"{name}: {num_streams} streams, round {number + 1}")
            found += [_beside(cell, rounds, api) for api in ("unstored", "stored")]
    return found


async def _round(cell: _Cell, way: Way, name: str, max_tokens: int) -> Mapping[Api, _Work]:
    """Each API twice, with prompts of its own: what one has read must not help another."""
    num_answers = max(cell.num_streams, cell.bench.scaled(_ANSWERS))
    done: dict[Api, _Work] = {api: _Work() for api in _TURNS}
    for at, api in enumerate(_TURNS):
        seed = crc32(f"{cell.way} {cell.num_streams} {name} {at}".encode())
        texts = prompts(cell.folder, num_answers, SHORT, seed)
        work, started, cpu = done[api], time.perf_counter(), cpu_seconds(cell.web)
        for few in _parts(texts, cell.num_streams):
            asked = (way.answer(api, text, max_tokens, lane) for lane, text in enumerate(few))
            work.answers += await asyncio.gather(*asked)
        work.seconds += time.perf_counter() - started
        work.web_cpu_s += cpu_seconds(cell.web) - cpu
    return done


def _parts(texts: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (texts[at : at + size] for at in range(0, len(texts), size))


def _beside(cell: _Cell, rounds: Sequence[Mapping[Api, _Work]], api: Api) -> Beside:
    ours, chat = ([each[name].figures() for each in rounds] for name in (api, "chat"))
    by_figure = zip(zip(*ours, strict=True), zip(*chat, strict=True), strict=True)
    speed, event, text, cpu = (_compared(*both) for both in by_figure)
    return Beside(cell.way, cell.num_streams, api == "stored", speed, event, text, cpu)


def _compared(ours: Sequence[float], chat: Sequence[float]) -> Compared:
    ratios = [a / b for a, b in zip(ours, chat, strict=True)]
    middle = statistics.median
    return Compared(middle(ours), middle(chat), middle(ratios), (min(ratios), max(ratios)))
