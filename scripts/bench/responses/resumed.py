"""A stream that was read, was lost with its connection, and is told again from its beginning."""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from scripts.bench.cell import SHORT, prompts
from scripts.bench.client import Endpoint
from scripts.bench.connection import connection
from scripts.bench.memory.bench import MODEL, Bench

from .told import Told, body_of
from .ways import socket

TOKENS = 2100  # in a little fewer events: what comes while the web process is busy, comes as one
_TIMES = 5  # each is told again


@dataclass(frozen=True, slots=True)
class Replay:
    """From sending what asks for it until the last event, on a connection that is open."""

    way: str
    num_events: int
    num_bytes: int
    median_s: float
    range_s: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Lost:
    """A response that is over, and what its stream is come back to with."""

    id: str
    resume_token: str


def measure(bench: Bench) -> list[Replay]:
    """A stream for each round. A second server on the same home has them from the archive."""
    folder = bench.model("deep")
    texts = prompts(folder, bench.rounds, SHORT, seed=3)
    with bench.server(folder, "resumed") as server:
        endpoint = server.endpoint(MODEL)
        lost = asyncio.run(_all_lost(endpoint, texts, bench.scaled(TOKENS, 16)))
        bench.say(f"resumed: {len(lost)} streams are lost")
        replays = [
            asyncio.run(_over_socket(endpoint, lost)),
            asyncio.run(_over_http(endpoint, lost, "over HTTP")),
        ]
    with bench.server(folder, "resumed") as server:
        told = _over_http(server.endpoint(MODEL), lost, "over HTTP from the archive")
        return [*replays, asyncio.run(told)]


async def _all_lost(endpoint: Endpoint, texts: Sequence[str], max_tokens: int) -> list[_Lost]:
    return await asyncio.gather(*(_lost(endpoint, text, max_tokens) for text in texts))


async def _lost(endpoint: Endpoint, text: str, max_tokens: int) -> _Lost:
    """Read to its end; then the connection breaks without a word."""
    body = body_of("stored", endpoint.model, text, max_tokens) | {"resumable": True}
    told = Told()
    async with socket(endpoint, "/responses") as opened:
        await opened.send(msgspec.json.encode(body | {"type": "response.create"}), text=True)
        while not told.ended_at:
            told.note(await opened.recv(decode=False))
        opened.transport.abort()
    return _Lost(told.response["id"], told.resume_token)


async def _over_socket(endpoint: Endpoint, lost: Sequence[_Lost]) -> Replay:
    """Each time on a socket of its own."""
    again = []
    for stream in [stream for stream in lost for _ in range(_TIMES)]:
        resume = {"type": "resume", "resume_token": stream.resume_token, "after": 0}
        async with socket(endpoint, "/responses") as opened:
            told = Told()
            await opened.send(msgspec.json.encode(resume), text=True)
            while not told.ended_at:
                told.note(await opened.recv(decode=False))
        again.append(told)
    return _replay("over the socket", again)


async def _over_http(endpoint: Endpoint, lost: Sequence[_Lost], way: str) -> Replay:
    again = []
    async with connection(endpoint) as opened:
        for stream in [stream for stream in lost for _ in range(_TIMES)]:
            told = Told()
            path = f"/responses/{stream.id}?stream=true&starting_after=0"
            async for event in opened.get_events(path):
                if not told.ended_at:  # behind it comes a mark only
                    told.note(event)
            again.append(told)
    return _replay(way, again)


def _replay(way: str, again: Sequence[Told]) -> Replay:
    seconds = [told.whole_s for told in again]
    return Replay(
        way,
        round(statistics.median(told.num_events for told in again)),
        round(statistics.median(told.num_bytes for told in again)),
        statistics.median(seconds),
        (min(seconds), max(seconds)),
    )
