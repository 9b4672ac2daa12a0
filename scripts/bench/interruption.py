"""`mlx-edge bench --kill`: for how long a stream stands still when its engine is killed under it.

Every round is a server of its own: one that saw a death before waits longer with the next load.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from websockets.asyncio.client import connect

from scripts.bench.cell import SHORT, prompts
from scripts.bench.client import Endpoint
from scripts.bench.servers import OurServer

STREAMS = (1, 16)
_MODEL = "bench"
_TOKENS_BEFORE = 32  # that the slowest stream has drawn when the engine is killed
_MAX_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class Pause:
    """Over all streams of all rounds, in seconds from the kill; medians where nothing else is said.

    Suspects are let into the new engine one by one, so the last of many waits for the others.
    """

    num_streams: int
    text_s: float  # until a stream's next text
    worst_s: float
    told_s: float  # until the death is told
    loaded_s: float  # until the load's last progress: from then on it can only wait its turn
    first_s: float  # the quickest: beyond the load it read its prompt and what it had drawn


@dataclass(slots=True)
class _Told:
    """When what came of one stream."""

    num_texts: int = 0
    text_at: float = 0.0
    stages: dict[str, list[float]] = field(default_factory=dict)


def measure(
    folder: Path, work: Path, rounds: int, pin: bool, on_step: Callable[[str], None]
) -> list[Pause]:
    """Kill the engine under one stream, and under sixteen."""
    pauses = []
    for num_streams in STREAMS:
        told: list[tuple[float, _Told]] = []
        for number in range(rounds):
            home = work / f"{num_streams}-{number}" / "home"
            home.parent.mkdir()
            server = OurServer(home, {_MODEL: folder}, pin)
            try:
                server.load(_MODEL)
                texts = prompts(folder, num_streams, SHORT, seed=number)
                told += asyncio.run(_interrupted(server, texts))
            finally:
                server.close()
            on_step(f"{num_streams} streams")
        pauses.append(_pause(num_streams, told))
    return pauses


def _pause(num_streams: int, told: Sequence[tuple[float, _Told]]) -> Pause:
    waits = [stream.text_at - killed_at for killed_at, stream in told]

    def median(stage: str, which: int) -> float:
        times = [(at, s.stages[stage]) for at, s in told if stage in s.stages]
        return statistics.median(stages[which] - at for at, stages in times) if times else 0.0

    return Pause(
        num_streams,
        statistics.median(waits),
        max(waits),
        median("restarted", 0),
        median("loading", -1),
        min(waits),
    )


async def _interrupted(server: OurServer, texts: Sequence[str]) -> list[tuple[float, _Told]]:
    """Each stream with the time of the kill, once all go on."""
    web = psutil.Process(server.process.pid)
    engine = next(c for c in web.children(recursive=True) if "runtime.engine" in c.cmdline())
    streams = [_Told() for _ in texts]
    began = [asyncio.Event() for _ in texts]
    resumed = [
        asyncio.create_task(_follow(server.endpoint(_MODEL), *each))
        for each in zip(texts, streams, began, strict=True)
    ]
    try:
        async with asyncio.timeout(300):
            for event in began:
                await event.wait()
            for stream in streams:
                stream.stages.clear()
            killed_at = time.perf_counter()
            engine.kill()
            await asyncio.gather(*resumed)
    finally:
        for task in resumed:
            task.cancel()
    return [(killed_at, stream) for stream in streams]


async def _follow(endpoint: Endpoint, prompt: str, told: _Told, began: asyncio.Event) -> None:
    """Note what comes until the first text behind a death. Raises RuntimeError if it ends first."""
    url = endpoint.url.replace("http", "ws", 1) + "/chat/completions"
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    body = {
        "type": "chat.completion.create",
        "stream_id": "s",
        "events": ["progress"],
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": _MAX_TOKENS,
        "temperature": 0.0,
    }
    async with connect(url, additional_headers=headers, proxy=None) as connection:
        await connection.send(json.dumps(body))
        async for text in connection:
            frame, now = json.loads(text), time.perf_counter()
            if frame["type"] == "progress":
                told.stages.setdefault(frame["stage"], []).append(now)
            elif "choices" not in frame:
                raise RuntimeError(f"the socket answered {frame}")
            elif frame["choices"][0]["delta"].get("content"):
                told.num_texts += 1
                if "restarted" in told.stages:
                    told.text_at = now
                    return
                if told.num_texts == _TOKENS_BEFORE:
                    began.set()


def show(pauses: Sequence[Pause], console: Console) -> None:
    """A line for each number of streams."""
    for pause in pauses:
        console.print(
            f"Pause of {pause.num_streams}: streams go on {pause.text_s:.2f} s after the engine's "
            f"kill (the first {pause.first_s:.2f} s, the last {pause.worst_s:.2f} s); told after "
            f"{pause.told_s:.2f} s, the model is loaded after {pause.loaded_s:.2f} s.",
            highlight=False,
        )
