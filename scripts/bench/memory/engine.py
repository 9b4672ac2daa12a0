"""Memory inside an engine: what a hit takes for a moment, and what models were said to take."""

from collections.abc import Iterator

import msgspec

from scripts.bench.memory.bench import CACHE_KINDS, Bench
from scripts.bench.memory.figure import Figure

HIT, PREDICTED = "hit", "predicted"

_HIT_TOKENS = 4000
_MOST_LAYERS, _MOST_SHARE = 2, 0.1  # a hit's rise: so many layers' worth, and a share of the entry
_LENGTHS = (1024, 4096, 16384)
_MOST_OVER = 1.1


class _Hit(msgspec.Struct, frozen=True):
    """As `hit` prints it."""

    entry: int
    num_layers: int
    rise: int
    rise_when_growing: int


class _Held(msgspec.Struct, frozen=True):
    """As `held` prints it."""

    num_tokens: int
    told: int
    found: int
    active: int


def measure_hit(bench: Bench) -> Iterator[Figure]:
    """A single user goes on with a conversation, on a model of 16 layers."""
    length = bench.scaled(_HIT_TOKENS, 300)
    (line,) = bench.child("hit", str(bench.model("deep")), str(length))
    hit = msgspec.json.decode(line, type=_Hit)
    most = _MOST_LAYERS / hit.num_layers + _MOST_SHARE
    name = f"rise of the peak, of an entry of {length} tokens"
    yield Figure(HIT, name, hit.rise / hit.entry, "share", most=most)
    grown = hit.rise_when_growing / hit.entry
    yield Figure(HIT, "the same, until its cache grew by a step", grown, "share", most=most)
    yield Figure(HIT, "the entry", hit.entry / 1e6, "MB")
    bench.say(HIT)


def measure_predicted(bench: Bench) -> Iterator[Figure]:
    """Weights and the cache of one row, of each kind, at three lengths."""
    lengths = [str(bench.scaled(length, 64)) for length in _LENGTHS]
    for kind in CACHE_KINDS:
        for line in bench.child("held", str(bench.model(kind)), *lengths):
            held = msgspec.json.decode(line, type=_Held)
            for how, said in (("by its files", held.told), ("as found", held.found)):
                name = f"{kind}, {held.num_tokens} tokens: {how} / measured"
                share = said / held.active
                yield Figure(PREDICTED, name, share, "times", least=1, most=_MOST_OVER)
        bench.say(f"{PREDICTED}: {kind}")
