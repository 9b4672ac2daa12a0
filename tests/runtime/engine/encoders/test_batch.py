"""Tests of runtime.engine.encoders.batch and encode_loop: packs that are full, and fair."""

import queue
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.checkpoint.model import Model
from runtime.engine.encoders.batch import EncodeBatch, Input
from runtime.engine.encoders.encoder import Encoder
from runtime.engine.encoders.loop import EncodeLoop
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Cancel, Command, Embed, Generate, Ping, Pong, Report, Step, Stop
from runtime.events import Embedded, Failed
from runtime.requests import SamplingParams
from tests.models import random_encoders


def batch_of(*requests: list[int]) -> EncodeBatch:
    """Requests 0, 1, … with inputs of these lengths."""
    batch = EncodeBatch()
    for number, lengths in enumerate(requests):
        batch.add(Embed(number, [[5] * length for length in lengths]))
    return batch


def lengths(pack: Sequence[Input]) -> list[int]:
    return [len(entry.tokens) for entry in pack]


def drain(batch: EncodeBatch, budget: int) -> list[list[Input]]:
    packs = []
    while pack := batch.next_pack(budget):
        packs.append(pack)
    return packs


def test_a_pack_keeps_to_its_budget_and_pads_little() -> None:
    """Of 500 random inputs each is read once; no pack is over budget or padded by over a third."""
    draw = random.Random(2)
    work = [[draw.randrange(1, 500) for _ in range(draw.choice([1, 3, 60]))] for _ in range(30)]
    packs = drain(batch_of(*work), 4096)
    seen = {(entry.request.id, entry.index) for pack in packs for entry in pack}
    assert len(seen) == sum(map(len, packs)) == sum(map(len, work))
    for pack in packs:
        assert len(pack) * max(lengths(pack)) <= 4096
        assert min(lengths(pack)) + 16 >= 0.75 * max(lengths(pack))
    assert len(packs) < sum(map(sum, work)) / 4096 * 2


def test_an_input_beyond_the_budget_goes_alone() -> None:
    assert [lengths(pack) for pack in drain(batch_of([900, 880, 3]), 512)] == [[900], [880], [3]]


def test_requests_share_a_pack() -> None:
    """Inputs of different requests that came together are read together."""
    (pack,) = drain(batch_of([10], [11, 9], [12]), 4096)
    assert {entry.request.id for entry in pack} == {0, 1, 2}


def test_the_oldest_request_is_served_first() -> None:
    """A stream of longer or equal inputs starves nobody: every pack holds one of the oldest."""
    batch = batch_of([20] * 5)
    for number in range(1, 50):
        batch.add(Embed(number, [[5] * length for length in (300, 20, 21)]))
    for expected in (2, 2, 1):
        pack = batch.next_pack(40)
        assert sum(entry.request.id == 0 for entry in pack) == expected
        for entry in pack:
            batch.put(entry, b"....")
    assert not batch.remove(0)


def test_a_removed_request_leaves_nothing() -> None:
    batch = batch_of([5, 6], [5, 6, 7])
    assert batch.remove(0) and not batch.remove(0)
    (pack,) = drain(batch, 4096)
    assert {entry.request.id for entry in pack} == {1}


# --- the loop -------------------------------------------------------------------------------------


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    model = Model("tiny", random_encoders.make(tmp_path, "bert"))
    return load_encoder(model, lambda done, total: None)


def run(encoder: Encoder, *commands: Command, pack_tokens: int = 4096) -> list[Any]:
    """What the loop reports when these have come in together."""
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    reports: list[Report] = []

    def send(report: Report) -> None:
        reports.append(report)
        if isinstance(report, Step) and report.num_rows == 0:
            inbox.put(Stop())

    for command in commands:
        inbox.put(command)
    EncodeLoop(encoder, inbox, send, pack_tokens=pack_tokens).run()
    return [
        e for report in reports for e in (report.events if isinstance(report, Step) else [report])
    ]


def rows(event: Embedded) -> Any:
    return np.frombuffer(event.vectors, "<f4").reshape(-1, event.num_dimensions)


def inputs(*sizes: int) -> list[list[int]]:
    return [[5 + (7 * place + size) % 90 for place in range(size)] for size in sizes]


def test_requests_at_once_equal_requests_alone(encoder: Encoder) -> None:
    """In small packs or in one, each gets its own vectors, in its inputs' order."""
    commands = [Embed(n, inputs(*sizes)) for n, sizes in enumerate([(9, 50, 2), (50,), (100, 3)])]
    commands.append(Embed(3, inputs(9, 50), dimensions=8))
    alone = [rows(run(encoder, command)[0]) for command in commands]
    assert alone[3].shape == (2, 8)
    for budget in (64, 4096):
        for event in run(encoder, *commands, pack_tokens=budget):
            assert isinstance(event, Embedded)
            np.testing.assert_allclose(rows(event), alone[event.id], atol=1e-5)


def test_a_fault_costs_its_own_request(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """One input that breaks the pass of all: the others are answered all the same."""
    encode = Encoder.encode

    def fragile(self: Encoder, pack: Sequence[Input], *rest: Any) -> list[bytes]:
        if any(7 in entry.tokens for entry in pack):
            raise RuntimeError("seven")
        return encode(self, pack, *rest)

    monkeypatch.setattr(Encoder, "encode", fragile)
    events = run(encoder, Embed(1, [[5, 6]]), Embed(2, [[6, 6], [5, 7], [9, 7]]), Embed(3, [[8]]))
    assert {type(event): event.id for event in events if event.id == 2} == {Failed: 2}
    assert sorted(event.id for event in events if isinstance(event, Embedded)) == [1, 3]


def test_what_cannot_be_read_costs_its_own_request(encoder: Encoder) -> None:
    """Foreign tokens, no tokens, no inputs, and a generation asked of an embedding model."""
    broken = [Embed(1, [[10**6]]), Embed(2, [[5], []]), Embed(3, [])]
    wrong = Generate(4, [5], SamplingParams())
    events = run(encoder, Embed(0, inputs(20)), *broken, wrong)
    assert {event.id for event in events if isinstance(event, Failed)} == {1, 2, 3, 4}
    assert [event.id for event in events if isinstance(event, Embedded)] == [0]


def test_cancelling_drops_what_is_left(encoder: Encoder) -> None:
    """No event of a cancelled request follows; pings are answered."""
    events = run(encoder, Embed(1, inputs(*[30] * 50)), Embed(2, inputs(4)), Cancel(1), Ping(8))
    assert [event for event in events if isinstance(event, Pong)] == [Pong(8)]
    assert [event.id for event in events if isinstance(event, Embedded)] == [2]


def test_pings_and_cancels_are_heard_within_a_long_pass(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two layers; a request that is cancelled then is not answered."""
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    reports: list[Report] = []

    def send(report: Report) -> None:
        reports.append(report)
        if isinstance(report, Pong):
            inbox.put(Stop())

    def late(self: Encoder, pack: Sequence[Input], between: Any) -> list[bytes]:
        inbox.put(Cancel(1))
        inbox.put(Ping(1))
        between()
        return [b"...."] * len(pack)

    monkeypatch.setattr(Encoder, "encode", late)
    inbox.put(Embed(1, inputs(20)))
    EncodeLoop(encoder, inbox, send, pack_tokens=4096).run()
    assert Pong(1) in reports
    assert not any(isinstance(report, Step) and report.events for report in reports)


def test_interactive_requests_go_before_background_ones() -> None:
    """Each fourth pack is the oldest request's, so that it is done some time, whoever comes."""
    batch = EncodeBatch()
    batch.add(Embed(0, [[5] * 100] * 20, priority="background"))
    order = []
    for number in range(1, 30):
        batch.add(Embed(number, [[5] * 10]))
        (entry,) = batch.next_pack(16)
        order.append(entry.request.id)
    assert [index for index, number in enumerate(order, 1) if number == 0] == [
        4,
        8,
        12,
        16,
        20,
        24,
        28,
    ]
    assert [number for number in order if number] == list(range(1, 23))
    rest = drain(batch, 100)
    assert sum(map(len, rest)) == 13 + 7


def test_the_room_in_a_pack_is_for_everybody() -> None:
    """A background input of about the same length is read along."""
    batch = EncodeBatch()
    batch.add(Embed(0, [[5] * 10], priority="background"))
    batch.add(Embed(1, [[5] * 10]))
    assert {entry.request.id for entry in batch.next_pack(64)} == {0, 1}
