"""Many conversations over one system prompt: how often that prompt is read."""

import asyncio
from collections.abc import Iterator, Sequence

from scripts.bench.cell import prompts
from scripts.bench.client import Endpoint, Timeline, connect, stream
from scripts.bench.memory.bench import CACHE_KINDS, MODEL, Bench
from scripts.bench.memory.figure import Figure

CASE = "shared"

_CONVERSATIONS, _SYSTEM_TOKENS, _ASKED = 50, 2000, 20
# A prompt that has one token less in common than the one before reads that token again.
_MOST_TIMES = 1.02


def times_read(system_tokens: int, cached: Sequence[int]) -> float:
    """How often a prompt was read, by how much of each conversation's beginning was cached."""
    return sum(max(0, system_tokens - count) for count in cached) / system_tokens


def measure(bench: Bench) -> Iterator[Figure]:
    """One after the other, and all at once, over system prompts of their own."""
    number = bench.scaled(_CONVERSATIONS, 3)
    for kind in CACHE_KINDS:
        folder = bench.model(kind)
        length = bench.scaled(_SYSTEM_TOKENS, 300)
        systems = prompts(folder, 2, length, seed=8)
        asked = prompts(folder, number, _ASKED, seed=9)
        with bench.server(folder, f"shared-{kind}") as server:
            endpoint = server.endpoint(MODEL)
            for how, system, at_once in zip(
                ("one by one", "all at once"), systems, (1, number), strict=True
            ):
                told = asyncio.run(_ask(endpoint, system, asked, at_once))
                times = times_read(length, [each.num_cached for each in told])
                name = f"{kind}: read by {number}, {how}"
                yield Figure(CASE, name, times, "times", most=_MOST_TIMES)
                bench.say(f"{kind}: {how}")


async def _ask(
    endpoint: Endpoint, system: str, asked: Sequence[str], at_once: int
) -> list[Timeline]:
    places = asyncio.Semaphore(at_once)
    async with connect(endpoint) as client:

        async def ask(text: str) -> Timeline:
            messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
            async with places:
                return await stream(client, endpoint, messages, max_tokens=4)

        return await asyncio.gather(*map(ask, asked))
