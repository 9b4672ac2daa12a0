"""Continuous batching: rows join and leave at any step, over mlx-lm's models and cache protocol.

One `step` dispatches the next token of every decoding row, reads the tokens dispatched before,
and then reads one chunk of waiting prompts.
"""

import logging
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from runtime.engine.cache import kv_cache
from runtime.engine.sampling.sampler import NUMERICAL_FAULT

from .group import DecodeGroup, fits
from .prefill import Prefill
from .row import Row

logger = logging.getLogger(__name__)

_REGROUP_STEPS = 64  # how often groups that grew alike in length are looked at for joining


@dataclass(frozen=True, slots=True)
class RowToken:
    """A row drew `token`. `is_last`: it ends the sequence, or the row's budget is spent."""

    row: Row
    token: int
    is_last: bool
    is_eos: bool


@dataclass(frozen=True, slots=True)
class RowPrefilled:
    """A row has read `row.num_prefilled` of its prompt."""

    row: Row


@dataclass(frozen=True, slots=True)
class RowFailed:
    """A row broke and is gone."""

    row: Row
    message: str


RowResult = RowToken | RowPrefilled | RowFailed


class Batch:
    """All rows of one model: waiting, prefilling and decoding. Not thread-safe; does no I/O."""

    def __init__(
        self,
        model: Any,
        eos_token_ids: Collection[int],
        *,
        max_rows: int = 16,
        prefill_chunk_tokens: int = 512,
        stall_limit_s: float = 0.25,
    ) -> None:
        self._model = model
        self._eos_token_ids = frozenset(eos_token_ids)
        self._max_rows = max_rows
        self._waiting: deque[Row] = deque()
        self._prefill = Prefill(model, prefill_chunk_tokens, stall_limit_s)
        self._groups: list[DecodeGroup] = []
        self._num_steps = 0

    @property
    def num_rows(self) -> int:
        """Rows anywhere in the batch."""
        return len(self._waiting) + self._num_active

    @property
    def cache_bytes(self) -> int:
        """Bytes of KV held for all rows, padding included."""
        prefilling = sum(kv_cache.num_bytes(row.cache) for row in self._prefill.rows)
        return prefilling + sum(group.num_bytes for group in self._groups)

    def add(self, row: Row) -> None:
        """Queue a row; it starts as soon as fewer than `max_rows` are active."""
        self._waiting.append(row)

    def remove(self, row_id: int) -> bool:
        """Drop a row wherever it is, and free its KV. False if it is not (or no longer) here."""
        for row in self._waiting:
            if row.id == row_id:
                self._waiting.remove(row)
                return True
        for row in self._prefill.rows:
            if row.id == row_id:
                self._prefill.remove(row)
                return True
        for group in self._groups:
            for row in group.rows:
                if row.id == row_id:
                    group.leave({row})
                    self._regroup()
                    return True
        return False

    def step(self) -> list[RowResult]:
        """One token for every decoding row, and one chunk for the prefilling ones."""
        results: list[RowResult] = []
        self._num_steps += 1
        self._decode(results)
        self._admit()
        if self._prefill.rows:
            self._read_prompts(results)
        if self._num_steps % _REGROUP_STEPS == 0:
            self._regroup()
        if self.num_rows == 0:
            mx.clear_cache()  # nothing runs, so give the buffers back
        return results

    @property
    def _num_active(self) -> int:
        return len(self._prefill.rows) + sum(len(group.rows) for group in self._groups)

    def _admit(self) -> None:
        while self._waiting and self._num_active < self._max_rows:
            row = self._waiting.popleft()
            row.started_at = time.monotonic()
            self._prefill.add(row)

    def _decode(self, results: list[RowResult]) -> None:
        dispatched = []
        for group in list(self._groups):
            if self._attempt(group, group.dispatch, results):
                dispatched.append(group)
        has_left = False
        for group in dispatched:
            drawn: list[tuple[Row, int]] = []
            self._attempt(group, lambda g=group, d=drawn: d.extend(g.read()), results)
            done = set()
            for row, token in drawn:
                result = self._result(row, token)
                results.append(result)
                if isinstance(result, RowFailed) or result.is_last:
                    done.add(row)
            if done:
                group.leave(done)
                has_left = True
        if has_left:
            self._regroup()

    def _result(self, row: Row, token: int) -> RowToken | RowFailed:
        row.num_read += 1
        if token == NUMERICAL_FAULT:
            return RowFailed(row, "The model computed logits that are not numbers (NaN).")
        is_eos = token in self._eos_token_ids
        return RowToken(row, token, is_eos or row.num_read >= row.max_tokens, is_eos)

    def _read_prompts(self, results: list[RowResult]) -> None:
        before = {row: row.num_prefilled for row in self._prefill.rows}
        ready, failed = self._prefill.chunk(is_decoding=bool(self._groups))
        results.extend(RowFailed(row, message) for row, message in failed)
        gone = {row for row, _ in failed}
        results.extend(
            RowPrefilled(row)
            for row, count in before.items()
            if row not in gone and row.num_prefilled > count
        )
        for group in ready:
            self._place(group)

    def _place(self, newcomer: DecodeGroup) -> None:
        """Join the group that wastes least on padding with it, or stand alone."""
        best = min(
            (group for group in self._groups if _can_join(group, newcomer)),
            key=lambda group: _padding([*group.lengths, *newcomer.lengths]),
            default=None,
        )
        if best is None:
            self._groups.append(newcomer)
        else:
            best.join(newcomer)

    def _regroup(self) -> None:
        """Split groups that waste too much since rows left, and join those that no longer would."""
        whole: list[DecodeGroup] = []
        parts = [group for group in self._groups if group.rows]
        while parts:
            group = parts.pop()
            if len(group.rows) > 1 and not fits(group.lengths):
                parts.append(group.split())
                parts.append(group)
            else:
                whole.append(group)
        self._groups = []
        for group in sorted(whole, key=lambda group: len(group.rows), reverse=True):
            self._place(group)

    def _attempt(self, group: DecodeGroup, action: Any, results: list[RowResult]) -> bool:
        """A failing forward pass costs the rows of its group, not the engine."""
        try:
            action()
        except Exception as error:
            logger.exception("decode failed")
            self._groups.remove(group)
            results.extend(RowFailed(row, f"The model failed: {error}") for row in group.rows)
            return False
        return True


def _can_join(group: DecodeGroup, other: DecodeGroup) -> bool:
    return group.is_mergeable and other.is_mergeable and fits([*group.lengths, *other.lengths])


def _padding(lengths: list[int]) -> int:
    return len(lengths) * max(lengths) - sum(lengths)
