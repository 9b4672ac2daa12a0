"""`mlx-edge bench --ways`: what each way to draw and to constrain costs beside plain greedy."""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.bench.cell import SHORT, prompts
from scripts.bench.client import Endpoint, connect, stream
from scripts.bench.servers import OurServer

_MODEL = "bench"
_STREAMS = 16
_MAX_TOKENS = 96
_GREEDY: Mapping[str, Any] = {"temperature": 0}


def _schema(number: int) -> dict[str, Any]:
    """One that no answer comes to the end of, with fields of its own."""
    kinds: list[dict[str, Any]] = [
        {"type": "string", "maxLength": 20},
        {"type": "integer", "minimum": 0, "maximum": 10**6},
        {"enum": ["yes", "no", f"perhaps {number}"]},
        {"type": "array", "items": {"type": "number"}, "maxItems": 4},
    ]
    fields = {f"field_{number}_{at}": kinds[at % 4] for at in range(8)}
    item = {"type": "object", "properties": fields, "required": list(fields)}
    items = {"type": "array", "items": item | {"additionalProperties": False}, "minItems": 50}
    schema = {"type": "object", "properties": {"items": items}, "required": ["items"]}
    named = {"name": "bench", "schema": schema | {"additionalProperties": False}}
    return {"temperature": 0, "response_format": {"type": "json_schema", "json_schema": named}}


# By the number of the stream.
WAYS: Mapping[str, Callable[[int], Mapping[str, Any]]] = {
    "temperatures and seeds": lambda at: {"temperature": 0.5 + 0.05 * at, "seed": at},
    "top_p 0.95": lambda at: {"temperature": 0.8, "top_p": 0.95, "seed": at},
    "top_k 40, min_p 0.05": lambda at: {"temperature": 1, "top_k": 40, "min_p": 0.05, "seed": at},
    "three penalties": lambda _: {
        **_GREEDY,
        **{"presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.1},
    },
    "logprobs 5": lambda _: {**_GREEDY, "logprobs": True, "top_logprobs": 5},
    "one schema": lambda _: _schema(0),
    "16 schemas": _schema,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way: the share of plain greedy's tokens per second, in the same round."""

    name: str
    tokens_per_s: float
    ratio: float
    ratio_range: tuple[float, float]


def measure(
    folder: Path, work: Path, rounds: int, pin: bool, on_step: Callable[[str], None]
) -> list[Cost]:
    """Every round begins and ends with plain greedy; the first is a warm-up."""
    server = OurServer(work / "ways", {_MODEL: folder}, pin)
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    try:
        server.load(_MODEL)
        endpoint = server.endpoint(_MODEL)
        for number in range(-1, rounds):
            before = asyncio.run(_round(endpoint, folder, lambda _: _GREEDY))
            speeds = {n: asyncio.run(_round(endpoint, folder, way)) for n, way in WAYS.items()}
            plain = (before + asyncio.run(_round(endpoint, folder, lambda _: _GREEDY))) / 2
            if number >= 0:
                for name, speed in speeds.items():
                    told[name].append((speed, speed / plain))
                on_step(f"round {number + 1}")
    finally:
        server.close()
    costs = []
    for name, pairs in told.items():
        speeds_of, ratios = zip(*pairs, strict=True)
        median = statistics.median
        costs.append(Cost(name, median(speeds_of), median(ratios), (min(ratios), max(ratios))))
    return costs


async def _round(
    endpoint: Endpoint, folder: Path, way: Callable[[int], Mapping[str, Any]]
) -> float:
    """Tokens per second of all streams together, the same prompts for each way."""
    texts = prompts(folder, _STREAMS, SHORT, seed=7)
    async with connect(endpoint) as client:
        started = time.perf_counter()
        timelines = await asyncio.gather(
            *(
                stream(client, endpoint, text, max_tokens=_MAX_TOKENS, parameters=way(at))
                for at, text in enumerate(texts)
            )
        )
        seconds = time.perf_counter() - started
    return sum(timeline.num_tokens for timeline in timelines) / seconds


def show(costs: list[Cost], console: Console) -> None:
    """A line for each."""
    for cost in costs:
        low, high = cost.ratio_range
        console.print(
            f"{cost.name}: {cost.ratio:.2f} ({low:.2f}-{high:.2f}) of plain greedy at "
            f"{_STREAMS} streams, {cost.tokens_per_s:.0f} tokens/s.",
            highlight=False,
        )
