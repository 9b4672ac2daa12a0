"""What it costs to store a response, to go on from one, and to have it told again.

The model is small: what its answers take is no part of this, but would hide it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import psutil

from scripts.bench.cell import prompts
from scripts.bench.client import Endpoint, percentiles
from scripts.bench.connection import Connection, connection
from scripts.bench.memory.bench import MODEL, Bench
from scripts.bench.servers import cpu_seconds

from .told import Told, body_of

NUMBER = 1000
_EVERY = 10  # of a chain: so often a request is measured beside others
# A chain of all of them fits a context of 40,960 tokens: nothing has to be left out.
_PROMPT_TOKENS, _MAX_TOKENS = 6, 16


@dataclass(frozen=True, slots=True)
class Create:
    """Requests that store, and beside them the same ones that do not. In seconds, p50 and p99.

    `own_s` is what the model has no part in: from the request to the first event, and from the last
    item to the end.
    """

    number: int
    is_chain: bool
    own_s: tuple[float, float]
    unstored_own_s: tuple[float, float]
    sent_own_s: tuple[float, float] | None  # that send what a chain holds, and store nothing
    added_s: tuple[float, float]  # to `own_s`, pair by pair
    added_whole_s: float  # to a whole request, the median of pairs
    web_cpu_s: float  # of a request
    unstored_web_cpu_s: float


@dataclass(frozen=True, slots=True)
class Retrieve:
    """A GET on a connection that is open, of each. In seconds, p50 and p99."""

    number: int
    is_chain: bool
    round_trip_s: tuple[float, float]
    web_cpu_s: float


@dataclass(frozen=True, slots=True)
class Archive:
    """All of it."""

    creates: Sequence[Create]
    retrieves: Sequence[Retrieve]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was answered, and what the web process computed for it."""

    told: Told
    web_cpu_s: float


@dataclass(frozen=True, slots=True)
class _Step:
    """Requests that say the same."""

    stored: _Asked
    unstored: _Asked | None = None
    sent: _Asked | None = None


@dataclass(frozen=True, slots=True)
class _Client:
    endpoint: Endpoint
    connection: Connection
    web: psutil.Process

    async def ask(self, *, stores: bool, **said: object) -> _Asked:
        """One request."""
        body = (
            body_of("stored" if stores else "unstored", self.endpoint.model, "", _MAX_TOKENS) | said
        )
        before, told = cpu_seconds(self.web), Told()
        async for event in self.connection.post_events("/responses", body):
            told.note(event)
        return _Asked(told, cpu_seconds(self.web) - before)


def measure(bench: Bench) -> Archive:
    """Separate ones, and one chain."""
    folder = bench.model("small")
    with bench.server(folder, "stored") as server:
        web = psutil.Process(server.process.pid)
        texts = prompts(folder, bench.scaled(NUMBER, 2 * _EVERY), _PROMPT_TOKENS, seed=1)
        return asyncio.run(_measure(bench, server.endpoint(MODEL), web, texts))


async def _measure(
    bench: Bench, endpoint: Endpoint, web: psutil.Process, texts: Sequence[str]
) -> Archive:
    creates, retrieves = [], []
    async with connection(endpoint) as opened:
        client = _Client(endpoint, opened, web)
        await client.ask(stores=True, input="warm")
        for is_chain in (False, True):
            steps = await (_chained if is_chain else _separate)(client, texts)
            creates.append(_create(steps, is_chain))
            bench.say(f"stored: {len(steps)} created{' in a chain' if is_chain else ''}")
            ids = [step.stored.told.response["id"] for step in steps]
            retrieves.append(await _retrieved(client, ids, is_chain))
    return Archive(creates, retrieves)


async def _separate(client: _Client, texts: Sequence[str]) -> list[_Step]:
    """Whoever comes second finds the prompt read: they take turns."""
    steps = []
    for number, text in enumerate(texts):
        first = await client.ask(stores=number % 2 == 0, input=text)
        second = await client.ask(stores=number % 2 == 1, input=text)
        steps.append(_Step(first, second) if number % 2 == 0 else _Step(second, first))
    return steps


async def _chained(client: _Client, texts: Sequence[str]) -> list[_Step]:
    """Each goes on from the one before."""
    steps: list[_Step] = []
    said: list[Any] = []
    last_id: str | None = None
    for number, text in enumerate(texts):
        said.append({"role": "user", "content": text})
        unstored = sent = None
        if number % _EVERY == 0:
            sent = await client.ask(stores=False, input=said)
            unstored = await client.ask(stores=False, input=text, previous_response_id=last_id)
        stored = await client.ask(stores=True, input=text, previous_response_id=last_id)
        steps.append(_Step(stored, unstored, sent))
        response = stored.told.response
        last_id = response["id"]
        said += response["output"]
    return steps


def _create(steps: Sequence[_Step], is_chain: bool) -> Create:
    pairs = [(step.stored, step.unstored) for step in steps if step.unstored is not None]
    added = [stored.told.own_s - other.told.own_s for stored, other in pairs]
    added_whole = [stored.told.whole_s - other.told.whole_s for stored, other in pairs]
    sent = [step.sent.told.own_s for step in steps if step.sent is not None]
    return Create(
        len(steps),
        is_chain,
        percentiles([step.stored.told.own_s for step in steps]),
        percentiles([other.told.own_s for _, other in pairs]),
        percentiles(sent) if sent else None,
        percentiles(added),
        percentiles(added_whole)[0],
        sum(stored.web_cpu_s for stored, _ in pairs) / len(pairs),
        sum(other.web_cpu_s for _, other in pairs) / len(pairs),
    )


async def _retrieved(client: _Client, ids: Sequence[str], is_chain: bool) -> Retrieve:
    waits, before = [], cpu_seconds(client.web)
    for response_id in ids:
        asked_at = time.perf_counter()
        found = await client.connection.get(f"/responses/{response_id}")
        waits.append(time.perf_counter() - asked_at)
        if msgspec.json.decode(found)["id"] != response_id:
            raise RuntimeError(f"asked for {response_id}, the server told {found[:300]!r}")
    cpu = cpu_seconds(client.web) - before
    return Retrieve(len(ids), is_chain, percentiles(waits), cpu / len(ids))
