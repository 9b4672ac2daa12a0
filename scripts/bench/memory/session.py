"""A recorded session of an agent, replayed: how much of its prompts is read again."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bench.client import Endpoint, connect
from scripts.bench.memory.bench import MODEL, Bench
from scripts.bench.memory.figure import Figure
from scripts.bench.memory.recording import Body, anthropic_bodies, openai_bodies

CASE = "session"

_LEAST_SHARE = 0.97
_MAX_TOKENS = 16  # what the model says is of no matter: the recording goes on as recorded


@dataclass(frozen=True, slots=True)
class Read:
    """Of one request, in tokens."""

    prompt: int
    cached: int


def share_cached(reads: Sequence[Read]) -> float:
    """Of all prompt tokens but those of the first request, which nobody can have read before."""
    later = reads[1:]
    return sum(read.cached for read in later) / max(1, sum(read.prompt for read in later))


def share_known(reads: Sequence[Read]) -> float:
    """The most that can be cached: all but what each request adds to the one before."""
    known = sum(min(a.prompt, b.prompt) for a, b in zip(reads, reads[1:], strict=False))
    return known / max(1, sum(read.prompt for read in reads[1:]))


def openai_read(usage: Mapping[str, Any]) -> Read:
    """Of a chat's usage."""
    return Read(usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])


def anthropic_read(usage: Mapping[str, Any]) -> Read:
    """Of a message's usage, whose input tokens are those that were not cached."""
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    return Read(usage["input_tokens"] + written + cached, cached)


def measure(bench: Bench) -> Iterator[Figure]:
    """Over both APIs, each on a server of its own."""
    number = bench.scaled(len(openai_bodies()), 3)
    folder = bench.model("small")
    for path, bodies, read in (
        ("/chat/completions", openai_bodies(), openai_read),
        ("/messages", anthropic_bodies(), anthropic_read),
    ):
        with bench.server(folder, CASE + path.replace("/", "-")) as server:
            usages = asyncio.run(_replay(server.endpoint(MODEL), path, bodies[:number]))
        reads = [read(usage) for usage in usages]
        yield Figure(CASE, f"{path}: cached", share_cached(reads), "share", least=_LEAST_SHARE)
        yield Figure(CASE, f"{path}: known before, the most there is", share_known(reads), "share")
        whole = sum(each.cached for each in reads) / sum(each.prompt for each in reads)
        yield Figure(CASE, f"{path}: cached, with the first request", whole, "share")
        yield Figure(CASE, f"{path}: tokens of the last prompt", reads[-1].prompt, "tokens")
        bench.say(f"{path}: {number} requests")


async def _replay(endpoint: Endpoint, path: str, bodies: Sequence[Body]) -> list[dict[str, Any]]:
    """The usage of each answer."""
    usages = []
    async with connect(endpoint) as client:
        for body in bodies:
            asked = body | {"model": endpoint.model, "max_tokens": _MAX_TOKENS, "temperature": 0}
            response = await client.post(f"{endpoint.url}{path}", json=asked)
            if response.status_code != 200:
                raise RuntimeError(f"{endpoint.url} answered {response.text[:300]}")
            usages.append(response.json()["usage"])
    return usages
