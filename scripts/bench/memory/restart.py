"""A conversation that goes on after a restart: its first token from disk, and cold."""

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator

from scripts.bench.cell import prompts
from scripts.bench.client import Endpoint, connect, stream
from scripts.bench.memory.bench import MODEL, Bench
from scripts.bench.memory.figure import Figure, Skipped
from scripts.bench.servers import environment

CASE = "restart"

_TOKENS = 4000
_LEAST_TIMES = 20
_FLAG = "--disk-cache"


def measure(bench: Bench) -> Iterator[Figure | Skipped]:
    """Two turns prove that a conversation goes on; then a server of the same home takes over.

    Cold is another conversation of that length, on the second server.
    """
    command = [sys.executable, "-m", "scripts.cli", "serve", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, env=environment(False)).stdout
    if _FLAG not in told:
        yield Skipped(CASE, f"this `mlx-edge serve` has no {_FLAG}")
        return
    folder = bench.model("full")
    length = bench.scaled(_TOKENS, 600)
    warm, cold = [], []
    for number in range(bench.rounds):
        known, other = prompts(folder, 2, length, seed=20 + number)
        messages = [{"role": "user", "content": known}]
        name = f"{CASE}-{number}"
        with bench.server(folder, name, _FLAG, "2GB") as server:
            for _ in range(2):
                asyncio.run(_turn(server.endpoint(MODEL), messages))
        with bench.server(folder, name, _FLAG, "2GB") as server:
            endpoint = server.endpoint(MODEL)
            asyncio.run(_turn(endpoint, [{"role": "user", "content": "warm"}]))
            warm.append(asyncio.run(_turn(endpoint, messages)))
            cold.append(asyncio.run(_turn(endpoint, [{"role": "user", "content": other}])))
        bench.say(f"round {number + 1}")
    times = statistics.median(b / a for a, b in zip(warm, cold, strict=True))
    name = f"first token of {length} tokens, cold / from disk"
    yield Figure(CASE, name, times, "times", least=_LEAST_TIMES)
    yield Figure(CASE, "first token from disk", 1e3 * statistics.median(warm), "ms")
    yield Figure(CASE, "first token, cold", 1e3 * statistics.median(cold), "ms")


async def _turn(endpoint: Endpoint, messages: list[dict[str, str]]) -> float:
    """Seconds to its first token. What is said is added, and what is asked next."""
    async with connect(endpoint) as client:
        told = await stream(client, endpoint, messages, max_tokens=16)
    messages += [
        {"role": "assistant", "content": told.text},
        {"role": "user", "content": "and then"},
    ]
    return told.first_token_s
