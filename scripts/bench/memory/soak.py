"""Thousands of requests of random lengths, cancels and unloads: what is left over of them."""

import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil

from scripts.bench.cell import prompts
from scripts.bench.client import connect, stream
from scripts.bench.latency import until_rows
from scripts.bench.memory.bench import MODEL, Bench
from scripts.bench.memory.figure import Figure
from scripts.bench.servers import OurServer

CASE = "soak"

_REQUESTS, _BEFORE = 2000, 100  # in all, and before the memory is looked at first
_AT_ONCE = 8
_CANCELLED = 0.2  # of all requests, while they are read or answered
_UNLOADS = 10  # in all, after the first look; the next request loads the model again
_LONGEST, _LONGEST_ANSWER = 600, 40  # tokens
_CACHE = "16MB"  # is full before the memory is looked at first
_MOST_TIMES = 1.05
_REST_S = 3  # the engine gives back what is free when it has been quiet for a second


@dataclass(frozen=True, slots=True)
class Held:
    """What a server holds while nothing runs."""

    rss: int  # bytes of all processes
    processes: int
    descriptors: int  # of the web process
    files: int  # in its home


def measure(bench: Bench) -> Iterator[Figure]:
    """The server holds the same after all of it as after the first hundred."""
    folder = bench.model("small")
    number = bench.scaled(_REQUESTS, 30)
    before = min(_BEFORE, number // 3)
    with bench.server(folder, CASE, "--prefix-cache", _CACHE) as server:
        texts = prompts(folder, number, _LONGEST, seed=30)
        # The last engine answers half of all: what it keeps of them shows.
        unload_at = range(before, number // 2, max(1, (number // 2 - before) // _UNLOADS))
        traffic = _Traffic(server, texts, unload_at)
        first = asyncio.run(traffic.run(0, before))
        bench.say(f"{CASE}: the first {before}")
        last = asyncio.run(traffic.run(before, number))
        bench.say(f"{CASE}: {number}")
        tree = [psutil.Process(server.process.pid)]
        tree += tree[0].children(recursive=True)
    yield Figure(CASE, f"memory after {number} / after {before}", last.rss / first.rss, "times",
                 most=_MOST_TIMES)  # fmt: skip
    yield Figure(CASE, f"memory after {before}", first.rss / 1e6, "MB")
    for what, now, then in (
        ("processes", last.processes, first.processes),
        ("open files", last.descriptors, first.descriptors),
        ("files in the home", last.files, first.files),
    ):
        yield Figure(CASE, f"{what} more than after {before}", now - then, "count", most=0)
    _, alive = psutil.wait_procs(tree, timeout=10)
    yield Figure(CASE, "processes left after its end", len(alive), "count", most=0)
    for name, count in traffic.counts.items():
        yield Figure(CASE, name, count, "count", most=0 if name == "failed" else None)


class _Traffic:
    """Requests of eight clients, by number; each cancels some of its own."""

    def __init__(self, server: OurServer, texts: list[str], unload_at: range) -> None:
        self.counts = dict.fromkeys(
            ("answered", "cancelled", "unloaded", "unloaded while it loaded", "failed"), 0
        )
        self._server = server
        self._texts = texts
        self._unload_at = unload_at
        self._draw = random.Random(0)

    async def run(self, start: int, stop: int) -> Held:
        """What is held when all is quiet again, the model in memory."""
        numbers = iter(range(start, stop))
        endpoint = self._server.endpoint(MODEL)
        async with connect(endpoint) as client:

            async def work() -> None:
                for number in numbers:
                    await self._one(client, number)

            await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
            await stream(client, endpoint, "the last", max_tokens=4)
            await until_rows(client, f"{self._server.url}/metrics", 0)
        await asyncio.sleep(_REST_S)
        return _held(self._server)

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        words = self._texts[number].split(" ")
        text = " ".join(words[: self._draw.randint(1, len(words))])
        tokens, gives_up = self._draw.randint(1, _LONGEST_ANSWER), self._draw.random() < _CANCELLED
        asked = stream(client, self._server.endpoint(MODEL), text, max_tokens=tokens)
        task = asyncio.create_task(asked)
        if gives_up:
            await asyncio.wait([task], timeout=self._draw.random())
            task.cancel()
        (told,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(told, asyncio.CancelledError):
            self.counts["cancelled"] += 1
        elif isinstance(told, BaseException):
            is_unload = isinstance(told, RuntimeError) and "unloaded" in str(told)
            self.counts["unloaded while it loaded" if is_unload else "failed"] += 1
        else:
            self.counts["answered"] += 1
        if number in self._unload_at:
            # It waits for the answers that are under way; who comes meanwhile loads it again.
            response = await client.delete(f"{self._server.endpoint(MODEL).url}/models/{MODEL}")
            self.counts["unloaded"] += response.status_code == 200


def _held(server: OurServer) -> Held:
    web = psutil.Process(server.process.pid)
    tree = [web, *web.children(recursive=True)]
    rss = sum(process.memory_info().rss for process in tree)
    files = sum(len(names) for _, _, names in os.walk(server.home))
    return Held(rss, len(tree), web.num_fds(), files)
