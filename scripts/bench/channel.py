"""The WebSocket beside SSE, in the same run: speed, CPU of the web process, cancels, idleness."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from websockets.asyncio.client import ClientConnection, connect

from scripts.bench import client as sse
from scripts.bench.cell import SHORT, prompts
from scripts.bench.client import Endpoint, Timeline, percentiles
from scripts.bench.latency import until_rows
from scripts.bench.servers import Yardstick, cpu_seconds

_STREAMS = 16
_TOKENS = 96
_FIRST_TOKENS = 20  # measurements of the time to the first token
_CANCELS = 15
_IDLE = 200
_IDLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Channel:
    """Medians. A ratio compares what took turns in the same run."""

    ratio: float  # tokens per second of 16 streams on one socket, to the bare BatchGenerator's
    ratio_range: tuple[float, float]
    tokens_per_s: float
    first_token_s: tuple[float, float]  # over the socket, over SSE
    web_cpu_per_token_s: tuple[float, float]
    frames_per_token: float  # 1: nothing is merged
    cancel_s: tuple[float, float]  # from sending the frame until the row is gone; p50 and p99
    idle_bytes: int  # of the web process, for 200 sockets
    idle_cpu_share: float  # of one core, while they are open

    @property
    def cpu_ratio(self) -> float:
        return self.web_cpu_per_token_s[0] / self.web_cpu_per_token_s[1]


async def measure_channel(
    endpoint: Endpoint, folder: Path, web: psutil.Process, yardstick: Yardstick, rounds: int
) -> Channel:
    """Measure all of it; speed, CPU and first tokens take turns with SSE and the yardstick."""
    ratios, speeds, frames = [], [], []
    cpu: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, rounds):  # the first is a warm-up
        texts = prompts(folder, _STREAMS, SHORT, seed=100 + number)
        timelines, seconds, socket_cpu = await _timed(web, _over_socket(endpoint, texts))
        _, _, sse_cpu = await _timed(web, _over_sse(endpoint, texts))
        bare = yardstick.tokens_per_s(texts, max_tokens=_TOKENS, temperature=0.0, top_p=1.0)
        if number >= 0:
            num_tokens = sum(timeline.num_tokens for timeline in timelines)
            speeds.append(num_tokens / seconds)
            ratios.append(num_tokens / seconds / bare)
            frames.append(sum(len(t.arrivals) for t in timelines) / num_tokens)
            cpu[0].append(socket_cpu / num_tokens)
            cpu[1].append(sse_cpu / num_tokens)
    idle_bytes, idle_share = await _idle(endpoint, web)
    return Channel(
        _middle(ratios),
        (min(ratios), max(ratios)),
        _middle(speeds),
        await _first_tokens(endpoint, folder),
        (_middle(cpu[0]), _middle(cpu[1])),
        _middle(frames),
        await _cancels(endpoint, folder),
        idle_bytes,
        idle_share,
    )


class Socket:
    """One socket with many streams on it."""

    def __init__(self, connection: ClientConnection, model: str) -> None:
        self._connection = connection
        self._model = model
        self._streams: dict[str, tuple[Timeline, asyncio.Event, asyncio.Event]] = {}

    async def stream(
        self, name: str, prompt: str, max_tokens: int, began: asyncio.Event | None = None
    ) -> Timeline:
        """One answer, with the same parameters as `client.stream`."""
        timeline, ended = Timeline(time.perf_counter()), asyncio.Event()
        self._streams[name] = timeline, began or asyncio.Event(), ended
        body = {
            "type": "chat.completion.create",
            "stream_id": name,
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "top_p": 1.0,
        }
        await self._connection.send(json.dumps(body))
        await ended.wait()
        return timeline

    async def cancel(self, name: str) -> None:
        await self._connection.send(
            json.dumps({"type": "chat.completion.cancel", "stream_id": name})
        )

    async def read(self) -> None:
        """Time what comes, until the socket ends. Raises RuntimeError with the server's words."""
        async for text in self._connection:
            frame = json.loads(text)
            if frame["type"] == "error":
                raise RuntimeError(f"the socket answered {frame['error']}")
            timeline, began, ended = self._streams[frame["stream_id"]]
            if frame["type"] == "chat.completion.done":
                timeline.num_tokens = frame["usage"]["completion_tokens"]
                ended.set()
            elif frame["choices"][0]["delta"].get("content"):
                timeline.arrivals.append(time.perf_counter())
                began.set()


@asynccontextmanager
async def _opened(endpoint: Endpoint) -> AsyncIterator[Socket]:
    url = endpoint.url.replace("http", "ws", 1) + "/chat/completions"
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    async with connect(url, additional_headers=headers, proxy=None) as connection:
        socket = Socket(connection, endpoint.model)
        reading = asyncio.create_task(socket.read())
        try:
            yield socket
        finally:
            reading.cancel()


async def _over_socket(endpoint: Endpoint, texts: Sequence[str]) -> list[Timeline]:
    async with _opened(endpoint) as socket:
        return await asyncio.gather(
            *(socket.stream(f"s{n}", text, _TOKENS) for n, text in enumerate(texts))
        )


async def _over_sse(endpoint: Endpoint, texts: Sequence[str]) -> list[Timeline]:
    async with sse.connect(endpoint) as client:
        return await asyncio.gather(
            *(sse.stream(client, endpoint, text, max_tokens=_TOKENS) for text in texts)
        )


async def _timed(
    web: psutil.Process, work: Awaitable[list[Timeline]]
) -> tuple[list[Timeline], float, float]:
    """The work's outcome, its seconds, and those that the web process computed."""
    started, cpu = time.perf_counter(), cpu_seconds(web)
    timelines = await work
    return timelines, time.perf_counter() - started, cpu_seconds(web) - cpu


async def _first_tokens(endpoint: Endpoint, folder: Path) -> tuple[float, float]:
    """One stream at a time, both on connections that are open already."""
    waits: tuple[list[float], list[float]] = ([], [])
    async with _opened(endpoint) as socket, sse.connect(endpoint) as client:
        for number, prompt in enumerate(prompts(folder, _FIRST_TOKENS, SHORT, seed=4)):
            over_socket = await socket.stream(f"f{number}", prompt, 4)
            over_sse = await sse.stream(client, endpoint, prompt, max_tokens=4)
            if number:
                waits[0].append(over_socket.first_token_s)
                waits[1].append(over_sse.first_token_s)
    return _middle(waits[0]), _middle(waits[1])


async def _cancels(endpoint: Endpoint, folder: Path) -> tuple[float, float]:
    """Streams are cancelled one after the other while four more run on, all on one socket."""
    metrics = endpoint.url.removesuffix("/v1") + "/metrics"
    waits = []
    async with _opened(endpoint) as socket, sse.connect(endpoint) as watcher:
        company = [
            asyncio.create_task(socket.stream(f"c{n}", prompt, 6000))
            for n, prompt in enumerate(prompts(folder, 4, 20, seed=1))
        ]
        for number, prompt in enumerate(prompts(folder, _CANCELS, 20, seed=2)):
            began = asyncio.Event()
            leaving = asyncio.create_task(socket.stream(f"l{number}", prompt, 6000, began))
            await began.wait()
            await until_rows(watcher, metrics, len(company) + 1)
            left_at = time.perf_counter()
            await socket.cancel(f"l{number}")
            await until_rows(watcher, metrics, len(company))
            waits.append(time.perf_counter() - left_at)
            await leaving
        for number in range(len(company)):
            await socket.cancel(f"c{number}")
        await asyncio.gather(*company)
    return percentiles(waits)


async def _idle(endpoint: Endpoint, web: psutil.Process) -> tuple[int, float]:
    """Memory that the sockets take, and the share of a core while nothing is said."""
    before = web.memory_info().rss
    async with AsyncExitStack() as stack:
        for _ in range(_IDLE):
            await stack.enter_async_context(_opened(endpoint))
        grown = web.memory_info().rss - before
        cpu = cpu_seconds(web)
        await asyncio.sleep(_IDLE_S)
        share = (cpu_seconds(web) - cpu) / _IDLE_S
    return max(0, grown), share


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
