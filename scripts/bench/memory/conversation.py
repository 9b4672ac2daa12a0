"""A conversation that grows: what each turn computes, and how long it waits for its first token."""

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.bench.cell import prompts
from scripts.bench.client import Endpoint, connect, stream
from scripts.bench.memory.bench import CACHE_KINDS, MODEL, Bench, CacheKind
from scripts.bench.memory.figure import Figure
from scripts.bench.servers import mlx_lm_server

CASE = "conversation"

_TURNS = 20
_ASKED, _ANSWERED = 70, 40  # tokens; the template's marks make it about 120 a turn
# Beyond what is new: where a cache can be cut at any token, and where not.
_MOST: dict[CacheKind, int] = {"full": 64, "window": 256, "hybrid": 256, "latent": 64}
_MOST_TIMES = 1.3


@dataclass(frozen=True, slots=True)
class Turn:
    """Tokens, and seconds to the first one."""

    prompt: int
    cached: int
    answered: int
    first_s: float


def beyond_new(turns: Sequence[Turn]) -> list[int]:
    """Of each turn but the first, the tokens computed that an earlier turn had computed or drawn.

    An answer's last token was drawn and never read.
    """
    return [
        (now.prompt - now.cached) - (now.prompt - before.prompt - before.answered + 1)
        for before, now in zip(turns, turns[1:], strict=False)
    ]


def measure(bench: Bench) -> Iterator[Figure]:
    """On each kind of cache: ours, ours without reuse, and mlx_lm.server."""
    for kind in CACHE_KINDS:
        folder = bench.model(f"wide-{kind}")
        with bench.server(folder, f"{CASE}-{kind}") as server:
            rounds = [
                asyncio.run(_talk(bench, server.endpoint(MODEL), number))
                for number in range(bench.rounds)
            ]
        yield from _ours(kind, rounds)
        bench.say(f"{kind}: {bench.rounds} conversations")
        with bench.server(folder, f"{CASE}-{kind}", "--prefix-cache", "0") as server:
            yield from _other(
                kind, "reuse off", asyncio.run(_talk(bench, server.endpoint(MODEL), 0))
            )
        bench.say(f"{kind}: reuse off")
        with mlx_lm_server(folder, bench.pin) as peer:
            yield from _other(kind, "mlx_lm.server", asyncio.run(_talk(bench, peer, 0)))
        bench.say(f"{kind}: mlx_lm.server")


def _ours(kind: CacheKind, rounds: Sequence[Sequence[Turn]]) -> Iterator[Figure]:
    beyond = [count for turns in rounds for count in beyond_new(turns)]
    yield Figure(
        CASE, f"{kind}: computed beyond new, most", max(beyond), "tokens", most=_MOST[kind]
    )
    yield Figure(CASE, f"{kind}: computed beyond new, median", statistics.median(beyond), "tokens")
    second, last = (statistics.median(t[at].first_s for t in rounds) for at in (1, -1))
    name = f"{kind}: first token, last turn / second"
    yield Figure(CASE, name, last / second, "times", most=_MOST_TIMES)
    yield Figure(CASE, f"{kind}: first token, last turn", 1e3 * last, "ms")


def _other(kind: CacheKind, name: str, turns: Sequence[Turn]) -> Iterator[Figure]:
    beyond = max(beyond_new(turns))
    yield Figure(CASE, f"{kind}, {name}: computed beyond new, most", beyond, "tokens")
    yield Figure(CASE, f"{kind}, {name}: first token, last turn", 1e3 * turns[-1].first_s, "ms")


async def _talk(bench: Bench, endpoint: Endpoint, number: int) -> list[Turn]:
    """One conversation, in which the server's own answers come back as they were sent."""
    texts = prompts(bench.model("full"), bench.scaled(_TURNS, 3), _ASKED, seed=number)
    messages: list[dict[str, str]] = []
    turns = []
    async with connect(endpoint) as client:
        await stream(client, endpoint, "warm", max_tokens=4)
        for text in texts:
            messages.append({"role": "user", "content": text})
            told = await stream(
                client, endpoint, messages,
                max_tokens=_ANSWERED, temperature=1, parameters={"seed": number},
            )  # fmt: skip
            messages.append({"role": "assistant", "content": told.text})
            turn = Turn(told.num_prompt, told.num_cached, told.num_tokens, told.first_token_s)
            turns.append(turn)
    return turns
