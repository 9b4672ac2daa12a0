"""What must not be lost to all this: throughput of prompts that arrive together, short stalls."""

import asyncio
import statistics
from collections.abc import Iterator

from scripts.bench.cell import prompts
from scripts.bench.client import Endpoint, together
from scripts.bench.latency import measure_stall
from scripts.bench.memory.bench import MODEL, Bench
from scripts.bench.memory.figure import Figure
from scripts.bench.servers import Yardstick

ARRIVALS, STALL = "arrivals", "stall"

_STREAMS = (1, 4, 16)
_PROMPT_TOKENS, _MAX_TOKENS = 115, 64
_LEAST_AT = 16  # streams
_LEAST_SHARE = 0.98
_MOST_STALL_MS = 150
_ALONE = ((60, 160), (2000, 96))  # tokens of the prompt and of the answer


def measure_arrivals(bench: Bench) -> Iterator[Figure]:
    """Rounds of ours and of the bare BatchGenerator take turns; the first is a warm-up."""
    folder = bench.model("full")
    yardstick = Yardstick(folder, bench.pin)
    try:
        with bench.server(folder, ARRIVALS) as server:
            for number in _STREAMS:
                share = _ratio(bench, server.endpoint(MODEL), yardstick, number)
                least = _LEAST_SHARE if number == _LEAST_AT else None
                name = f"{number} prompts of {_PROMPT_TOKENS} tokens at once, of bare"
                yield Figure(ARRIVALS, name, share, "times", least=least)
                bench.say(f"{ARRIVALS}: {number}")
    finally:
        yardstick.close()


def measure_stall_beside(bench: Bench) -> Iterator[Figure]:
    """A stream beside a long prompt; and alone, beside mlx-lm's generation of one row."""
    folder = bench.model("full")
    yardstick = Yardstick(folder, bench.pin)
    try:
        with bench.server(folder, STALL) as server:
            endpoint = server.endpoint(MODEL)
            stall = asyncio.run(measure_stall(endpoint, folder))
            name = "longest wait of a stream beside 4,000 tokens"
            yield Figure(STALL, name, 1e3 * stall.longest_s, "ms", most=_MOST_STALL_MS)
            yield Figure(STALL, "between its tokens, alone", 1e3 * stall.gap_s, "ms")
            bench.say(STALL)
            for length, max_tokens in _ALONE:
                share = _ratio(bench, endpoint, yardstick, 1, length, max_tokens, unbatched=True)
                name = f"one stream of {length} tokens, of mlx-lm's unbatched"
                yield Figure(STALL, name, share, "times", least=1)
                bench.say(f"{STALL}: alone, {length}")
    finally:
        yardstick.close()


def _ratio(
    bench: Bench,
    endpoint: Endpoint,
    yardstick: Yardstick,
    number: int,
    length: int = _PROMPT_TOKENS,
    max_tokens: int = _MAX_TOKENS,
    *,
    unbatched: bool = False,
) -> float:
    """The median of ours by the yardstick's tokens per second."""
    work = {"max_tokens": bench.scaled(max_tokens, 8), "temperature": 0.0, "top_p": 1.0}
    ratios = []
    for at in range(-1, bench.rounds):
        texts = prompts(bench.model("full"), number, bench.scaled(length, 16), seed=700 + at)
        ours = asyncio.run(together(endpoint, texts, **work)).tokens_per_s
        ratios.append(ours / yardstick.tokens_per_s(texts, **work, unbatched=unbatched))
    return statistics.median(ratios[1:])
