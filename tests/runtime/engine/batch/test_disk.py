"""Tests of prefixes on disk: what is read from there equals cold, token for token."""

import time
from pathlib import Path
from typing import Any

import pytest

from runtime.disk.folder import Folder
from runtime.engine.batch.batch import Batch
from runtime.engine.cache.disk.tier import DiskTier
from tests.runtime.engine.batch.test_reuse import ARCHITECTURES, answer
from tests.runtime.engine.numbers import load, prompts, run_alone

_ROOMY = 1 << 30


def batch_of(
    model: Any, home: Path, budget: int = _ROOMY, limit: int = _ROOMY, identity: bytes = b"model"
) -> tuple[Batch, DiskTier]:
    """An engine's batch, after a start; `_end` ends it."""
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


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "llama_kv8"])
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
