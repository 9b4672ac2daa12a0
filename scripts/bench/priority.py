"""`mlx-edge bench --priority`: an interactive request beside as many background rows as run."""

import asyncio
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console

from scripts.bench.cell import SHORT, prompts
from scripts.bench.client import Endpoint, connect, stream
from scripts.bench.latency import until_rows
from scripts.bench.servers import OurServer

_MODEL = "bench"
_ROWS = 16
_BACKGROUND_TOKENS = 500


@dataclass(frozen=True, slots=True)
class Beside:
    """Time to the first token, alone and beside; both in every round. Medians, in seconds."""

    alone_s: float
    beside_s: float
    ratio: float
    ratio_range: tuple[float, float]


def measure(
    folder: Path, work: Path, rounds: int, pin: bool, on_step: Callable[[str], None]
) -> Beside:
    """Alone and beside take turns; the first round is a warm-up."""
    server = OurServer(work / "home", {_MODEL: folder}, pin)
    try:
        server.load(_MODEL)
        waits = [
            asyncio.run(_round(server.endpoint(_MODEL), folder, number, on_step))
            for number in range(-1, rounds)
        ][1:]
    finally:
        server.close()
    alone, beside = zip(*waits, strict=True)
    ratios = sorted(b / a for a, b in waits)
    return Beside(
        statistics.median(alone),
        statistics.median(beside),
        statistics.median(ratios),
        (ratios[0], ratios[-1]),
    )


async def _round(
    endpoint: Endpoint, folder: Path, number: int, on_step: Callable[[str], None]
) -> tuple[float, float]:
    first, second, *others = prompts(folder, 2 + _ROWS, SHORT, seed=500 + number)
    metrics = endpoint.url.removesuffix("/v1") + "/metrics"
    async with connect(endpoint) as client:
        await until_rows(client, metrics, 0)  # those of the last round may still be leaving
        await stream(client, endpoint, "warm", max_tokens=4)
        await until_rows(client, metrics, 0)
        alone = await stream(client, endpoint, first, max_tokens=4)
        began = [asyncio.Event() for _ in others]
        background = [
            asyncio.create_task(_background(client, endpoint, text, event))
            for text, event in zip(others, began, strict=True)
        ]
        try:
            async with asyncio.timeout(300):
                for event in began:
                    await event.wait()
            beside = await stream(client, endpoint, second, max_tokens=4)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
    on_step(f"round {number + 1}")
    return alone.first_token_s, beside.first_token_s


async def _background(
    client: httpx.AsyncClient, endpoint: Endpoint, prompt: str, began: asyncio.Event
) -> None:
    await stream(
        client,
        endpoint,
        prompt,
        max_tokens=_BACKGROUND_TOKENS,
        priority="background",
        on_token=began.set,
    )


def show(beside: Beside, console: Console) -> None:
    """One line."""
    low, high = beside.ratio_range
    console.print(
        f"Priority: an interactive first token comes after {1e3 * beside.alone_s:.0f} ms alone and "
        f"{1e3 * beside.beside_s:.0f} ms beside {_ROWS} background rows: {beside.ratio:.2f} "
        f"({low:.2f}-{high:.2f}) times as long.",
        highlight=False,
    )
