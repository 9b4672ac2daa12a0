"""Tests of prefixes on disk: what is read from there equals cold, token for token."""

import os
import random
import shutil
import time
from array import array
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from runtime.disk.entry import Entry
from runtime.disk.folder import Folder, forget
from runtime.engine.batch.batch import Batch
from runtime.engine.cache.disk.tier import DiskTier
from tests.runtime.engine.batch.test_reuse import ARCHITECTURES, answer
from tests.runtime.engine.numbers import load, prompts, row, run, run_alone

_ROOMY = 1 << 30


def batch_of(
    model: Any, home: Path, budget: int = _ROOMY, limit: int = _ROOMY, identity: bytes = b"model"
) -> tuple[Batch, DiskTier]:
    """An engine's batch, after a start; `end` ends it."""
    tier = DiskTier(Folder(home, limit), identity, lambda: None)
    batch = Batch(
        model, prefill_chunk_tokens=64, stall_limit_s=60, prefix_cache_bytes=budget, disk=tier
    )
    batch.reuse.note_speed(1.0)  # so slow that all is worth being written
    batch.reuse.note_speed = _unmeasured  # type: ignore[method-assign]
    return batch, tier


def _unmeasured(tokens_per_s: float) -> None:
    """What a test writes does not depend on how fast it is."""


def end(batch: Batch, tier: DiskTier) -> None:
    batch.close(time.monotonic() + 60)
    tier.close()


def files(home: Path) -> list[Path]:
    return sorted(path for path in (home / "prefixes").iterdir() if path.name[0] != ".")


def converse(
    batch: Batch, model: Any, turns: list[list[int]], history: list[int], number: int = 0
) -> tuple[list[int], list[int]]:
    """The conversation after these turns, and how many tokens of each prompt were cached."""
    counts = []
    for said in turns:
        prompt = [*history, *said]
        number += 1
        tokens, cached = answer(batch, number, prompt, 12)
        assert tokens == run_alone(model, prompt, 12)
        counts.append(cached)
        history = [*prompt, *tokens]
    return history, counts


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_conversation_goes_on_after_a_restart(tmp_path: Path, architecture: str) -> None:
    model = load(tmp_path / "model", architecture)
    turns = prompts([700, 60, 61, 62, 63])
    history: list[int] = []
    for restart, said in enumerate([turns[:2], turns[2:3], turns[3:4], turns[4:]]):
        batch, tier = batch_of(model, tmp_path / "home")
        before = len(history)
        history, counts = converse(batch, model, said, history)
        assert counts[0] == max(0, before - 1), restart
        end(batch, tier)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_was_used_once_is_not_written(tmp_path: Path, architecture: str) -> None:
    model = load(tmp_path / "model", architecture)
    batch, tier = batch_of(model, tmp_path / "home")
    for number, prompt in enumerate(prompts([300, 310, 320])):
        answer(batch, number, prompt, 5)
    end(batch, tier)
    assert files(tmp_path / "home") == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_memory_has_no_room_for_comes_back(tmp_path: Path, architecture: str) -> None:
    """Without a restart: two conversations take turns where there is room for one."""
    model = load(tmp_path / "model", architecture)
    batch, tier = batch_of(model, tmp_path / "home")
    said = prompts([500, 40, 40, 40], seed=3), prompts([510, 41, 42, 43], seed=4)
    first, _ = converse(batch, model, said[0][:2], [])
    batch.reuse.cache.budget_bytes = int(batch.reuse.cache.num_bytes * 1.4)
    second, _ = converse(batch, model, said[1][:2], [], 100)
    tier.settle(time.monotonic() + 60)
    for number in (2, 3):
        before = len(first)
        first, counts = converse(batch, model, [said[0][number]], first, 10 * number)
        assert counts[0] >= before - 256
        tier.settle(time.monotonic() + 60)
        second, _ = converse(batch, model, [said[1][number]], second, 100 + 10 * number)
        tier.settle(time.monotonic() + 60)
    assert batch.reuse.cache.num_bytes <= batch.reuse.cache.budget_bytes
    end(batch, tier)


def test_a_shared_beginning_is_written_once(tmp_path: Path) -> None:
    """And what was said behind it once is not."""
    model = load(tmp_path / "model", "llama")
    shared, *ends = prompts([700, *[30] * 6])
    for restart in range(2):
        batch, tier = batch_of(model, tmp_path / "home")
        for number, last in enumerate(ends[3 * restart :][:3]):
            prompt = [*shared, *last]
            tokens, cached = answer(batch, number, prompt, 5)
            assert tokens == run_alone(model, prompt, 5)
            assert cached == (700 if number or restart else 0)
        end(batch, tier)
        assert sum(int(path.name.split("-")[2]) for path in files(tmp_path / "home")) == 700


@pytest.mark.parametrize("architecture", ["llama", "lfm2"])
def test_damaged_files_are_removed_and_cost_time_only(tmp_path: Path, architecture: str) -> None:
    """Changed, cut, emptied, or in each other's places."""
    model = load(tmp_path / "model", architecture)
    turns, home = prompts([900, 40, 41]), tmp_path / "home"
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])
    end(batch, tier)
    whole = {path: path.read_bytes() for path in files(home)}
    first, second = sorted(whole, key=lambda path: path.stat().st_mtime_ns)[:2]
    size = len(whole[first])
    changes = [_changed(whole[first], at) for at in (0, 20, 40, size // 2, size - 5)]
    changes += [whole[first][: size // 2], b"", whole[second]]
    prompt = [*history, *turns[2]]
    expected = run_alone(model, prompt, 4)
    for changed in changes:
        for path, content in whole.items():
            path.write_bytes(content)
        first.write_bytes(changed)
        batch, tier = batch_of(model, home)
        tokens, cached = answer(batch, 1, prompt, 4)
        assert tokens == expected and cached == 0
        assert not first.exists() and second.exists()
        tier.close()


def _changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_a_piece_that_is_gone_ends_what_is_read(tmp_path: Path) -> None:
    """What is before it is used, and it is written again."""
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([1300, 40, 41])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])
    end(batch, tier)
    before = {Entry.of(path.name): path for path in files(home)}
    (first,) = (each for each in before if each and each.parent == tier.root)
    (second,) = (each for each in before if each and each.parent == first.key)
    before[second].unlink()
    batch, tier = batch_of(model, home)
    _, counts = converse(batch, model, turns[2:], history)
    assert counts == [first.num_tokens]
    end(batch, tier)
    assert before[second].exists()


def test_another_form_of_the_model_finds_nothing(tmp_path: Path) -> None:
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([300, 40, 41])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])
    end(batch, tier)
    batch, tier = batch_of(model, home, identity=b"other weights")
    _, counts = converse(batch, model, turns[2:], history)
    assert counts == [0]
    end(batch, tier)


def test_two_engines_at_once(tmp_path: Path) -> None:
    """What one has written, the other finds without a restart."""
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([600, 40, 141, 42])
    (first, tier), (second, other) = batch_of(model, home), batch_of(model, home)
    history, _ = converse(first, model, turns[:2], [])
    first.reuse.save(time.monotonic() + 60)
    longer, counts = converse(second, model, turns[2:3], history)
    assert counts == [len(history) - 1]
    second.reuse.save(time.monotonic() + 60)
    _, counts = converse(first, model, turns[3:], longer)
    assert counts == [len(longer) - 1]
    for batch, each in ((first, tier), (second, other)):
        end(batch, each)


def test_a_row_that_leaves_while_it_is_read_from_disk(tmp_path: Path) -> None:
    """Also one that others wait for: they get it."""
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([600, 40, 41])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])
    end(batch, tier)
    prompt = [*history, *turns[2]]
    expected = run_alone(model, prompt, 6)
    for gone in (0, 1, 2):
        batch, tier = batch_of(model, home)
        for number, last in enumerate(([], [], [5, 6])):
            batch.add(row(number, [*prompt, *last], 6))
        assert batch.is_waiting
        assert batch.remove(gone) == []
        tokens = run(batch)
        assert all(tokens[number] == expected for number in {0, 1} - {gone})
        assert batch.reuse.lookups.num_cached > 0
        end(batch, tier)


def test_others_draw_while_a_row_is_read_from_disk(tmp_path: Path) -> None:
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([600, 40, 41, 20])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])
    end(batch, tier)
    batch, tier = batch_of(model, home)
    other, prompt = turns[3], [*history, *turns[2]]
    batch.add(row(1, other, 30))
    for _ in range(4):
        batch.step()
    batch.add(row(2, prompt, 8))
    tokens = run(batch)
    assert tokens[2] == run_alone(model, prompt, 8)
    whole = run_alone(model, other, 30)
    assert tokens[1] == whole[-len(tokens[1]) :]
    end(batch, tier)


def test_what_is_forgotten_is_not_found(tmp_path: Path) -> None:
    """On request, and under a running engine by whoever deletes the key."""
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([300, 40, 41])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])
    batch.reuse.save(time.monotonic() + 60)
    assert files(home)
    batch.forget(on_disk=True)
    assert files(home) == []
    _, counts = converse(batch, model, turns[2:], history)
    assert counts == [0]
    forget(home)
    converse(batch, model, turns[:2], [])
    end(batch, tier)
    assert files(home) == []


def test_memory_that_is_wanted_loses_nothing(tmp_path: Path) -> None:
    """What makes way for a load goes to disk."""
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([300, 40, 41])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])
    batch.forget()
    assert batch.reuse.cache.num_bytes == 0
    tier.settle(time.monotonic() + 60)
    _, counts = converse(batch, model, turns[2:], history)
    assert counts == [len(history) - 1]
    end(batch, tier)


def test_a_disk_that_fails_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once."""
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([1100, 40, 41, 42])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns[:2], [])

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    batch.reuse.save(time.monotonic() + 60)
    assert files(home) == []
    monkeypatch.undo()
    shutil.rmtree(home)
    history, counts = converse(batch, model, turns[2:3], history)
    assert counts[0] > 1000
    batch.forget()
    _, counts = converse(batch, model, turns[3:], history)
    assert counts == [0]
    end(batch, tier)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(set(told))
    assert "the disk cache cannot be written: No space left on device" in told


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_traffic_is_answered_as_if_cold(tmp_path: Path, architecture: str) -> None:
    """Under small budgets in memory and on disk, with restarts in between."""
    model, home = load(tmp_path / "model", architecture), tmp_path / "home"
    budget = 120_000
    chance = random.Random(1)
    trunks = prompts([600, 280], seed=2)
    known: list[list[int]] = []
    limit = 4 * budget
    for restart in range(3):
        batch, tier = batch_of(model, home, budget, limit)
        for number in range(8):
            base = chance.choice([*trunks, *known[-4:]])
            cut = chance.choice([len(base), len(base), chance.randrange(1, len(base) + 1)])
            prompt = [
                *base[:cut],
                *prompts([chance.randrange(1, 40)], seed=10 * restart + number)[0],
            ]
            tokens, _ = answer(batch, number, prompt, 3)
            assert tokens == run_alone(model, prompt, 3)
            known.append([*prompt, *tokens])
            assert batch.reuse.cache.num_bytes <= budget
        end(batch, tier)
        assert sum(path.stat().st_size for path in files(home)) <= limit
        assert tier.written_today <= limit


def test_keys_and_values_are_nowhere_in_the_clear(tmp_path: Path) -> None:
    """Nor the tokens that they are of, in any width."""
    model, home = load(tmp_path / "model", "llama"), tmp_path / "home"
    turns = prompts([300, 40])
    batch, tier = batch_of(model, home)
    history, _ = converse(batch, model, turns, [])
    (path,) = batch.reuse.cache.paths()
    plain = [array(kind, history[20:26]).tobytes() for kind in "iqHI"]
    for layer in path[0].full:
        for numbers in layer:
            for head in numbers[0, :, 100:101]:
                plain.append(bytes(memoryview(mx.contiguous(head))))  # type: ignore[arg-type]
    end(batch, tier)
    assert len(plain) > 8 and all(len(each) >= 12 for each in plain)
    written = [each for each in home.rglob("*") if each.is_file()]
    assert sum(each.stat().st_size for each in written) > sum(map(len, plain))
    for each in written:
        content = each.read_bytes()
        assert not any(words in content for words in plain), each
