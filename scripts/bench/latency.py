"""Two things that throughput hides: how fast a cancel is, and how long a stream stands still."""

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from scripts.bench.cell import prompts
from scripts.bench.client import Endpoint, Timeline, connect, percentiles, stream

_CANCELS = 15
_STALLS = 2
STALL_PROMPT_TOKENS = 4000


@dataclass(frozen=True, slots=True)
class Cancel:
    """From a client's leaving until the engine says that the row is gone. Seconds."""

    p50_s: float
    p99_s: float
    step_s: float  # one decode step beside it, to compare with


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest a running stream waited for a token while a long prompt was read. Seconds."""

    longest_s: float
    gap_s: float  # between tokens when nothing else runs
    prompt_s: float  # what the long prompt took to its first token


async def measure_cancel(endpoint: Endpoint, folder: Path) -> Cancel:
    """Streams leave one after the other while four more run on."""
    metrics = endpoint.url.removesuffix("/v1") + "/metrics"
    async with connect(endpoint) as client, connect(endpoint) as watcher:
        company = [
            asyncio.create_task(stream(client, endpoint, prompt, max_tokens=6000))
            for prompt in prompts(folder, 4, 20, seed=1)
        ]
        waits = []
        try:
            for prompt in prompts(folder, _CANCELS, 20, seed=2):
                await until_rows(watcher, metrics, len(company))
                began = asyncio.Event()
                leaving = asyncio.create_task(
                    stream(client, endpoint, prompt, max_tokens=6000, on_token=began.set)
                )
                await began.wait()
                await until_rows(watcher, metrics, len(company) + 1)
                left_at = time.perf_counter()
                leaving.cancel()
                await until_rows(watcher, metrics, len(company))
                waits.append(time.perf_counter() - left_at)
            timeline = await stream(client, endpoint, "step", max_tokens=60)
        finally:
            for task in company:
                task.cancel()
            await asyncio.gather(*company, return_exceptions=True)
    p50_s, p99_s = percentiles(waits)
    return Cancel(p50_s, p99_s, percentiles(timeline.gaps_s)[0])


async def until_rows(client: httpx.AsyncClient, url: str, count: int) -> None:
    """Wait until the engine says that it holds so many rows; `url` is that of /metrics."""
    async with asyncio.timeout(60):
        while True:
            text = (await client.get(url)).text
            if re.search(rf"^mlx_edge_engine_rows\{{.*\}} {count}\.0$", text, re.MULTILINE):
                return
            await asyncio.sleep(0.0005)


async def measure_stall(endpoint: Endpoint, folder: Path) -> Stall:
    """A long prompt arrives beside a running stream, a few times."""
    longest_s = prompt_s = 0.0
    alone: list[float] = []
    async with connect(endpoint) as client:
        for prompt in prompts(folder, _STALLS, STALL_PROMPT_TOKENS, seed=3):
            running = Timeline(time.perf_counter())

            def note(running: Timeline = running) -> None:
                running.arrivals.append(time.perf_counter())

            task = asyncio.create_task(
                stream(client, endpoint, "run", max_tokens=4000, on_token=note)
            )
            await asyncio.sleep(1)
            alone += running.gaps_s
            num_before = len(running.arrivals)
            long = await stream(client, endpoint, prompt, max_tokens=2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            longest_s = max(longest_s, *running.gaps_s[max(0, num_before - 1) :])
            prompt_s = max(prompt_s, long.first_token_s)
    return Stall(longest_s, percentiles(alone)[0], prompt_s)
