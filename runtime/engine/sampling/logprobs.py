"""How likely the model took what was drawn, and what else: by the logits as it computed them,
before anything is added to them or cut off."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import mlx.core as mx

from runtime.engine import device
from runtime.requests import SamplingParams

from .rows import only
from .top_k import largest


class Likelihood(NamedTuple):
    """Of one token that was drawn."""

    logprob: float
    alternatives: list[tuple[int, float]]  # the likeliest tokens, the likeliest first


class _Noted(NamedTuple):
    """Of R rows, or of one without the first axis."""

    logprobs: mx.array  # (R,)
    tokens: mx.array  # (R, count)
    others: mx.array  # (R, count): log probabilities


class Logprobs:
    """Of a group's pending tokens, a `Column` of the group. Rows that do not ask cost nothing."""

    def __init__(
        self, counts: Sequence[int | None], noted: Mapping[int, _Noted] | None = None
    ) -> None:
        """`counts` are the alternatives that each row asks for; None: not even its own."""
        self._counts = list(counts)
        self._noted = dict(noted or {})
        self._stacked: _Noted | None = None  # of all rows that ask; then `_noted` is out of date

    @classmethod
    def begin(cls, params: Sequence[SamplingParams]) -> "Logprobs":
        return cls([row.logprobs for row in params])

    def join(self, other: "Logprobs") -> None:
        self._spread()
        other._spread()
        offset = len(self._counts)
        self._noted |= {offset + row: noted for row, noted in other._noted.items()}
        self._counts += other._counts

    def keep(self, rows: Sequence[int]) -> None:
        self._spread()
        self._noted = {at: self._noted[row] for at, row in enumerate(rows) if row in self._noted}
        self._counts = [self._counts[row] for row in rows]

    def take(self, rows: Sequence[int]) -> "Logprobs":
        self._spread()
        part = Logprobs(self._counts, self._noted)
        part.keep(rows)
        return part

    def note(self, logits: mx.array, tokens: mx.array) -> None:
        """These tokens (B,) were drawn after these logits (B, vocab)."""
        if not (rows := self._asking):
            return
        count = max(self._counts[row] or 0 for row in rows)
        self._stacked = _noted(only(logits, rows), only(tokens, rows), count)
        mx.async_eval(self._stacked)

    def read(self) -> list[Likelihood | None]:
        """Of each row's pending token; None of rows that do not ask. Waits for the device."""
        likelihoods: list[Likelihood | None] = [None] * len(self._counts)
        if self._stacked is not None:
            lists = (array.tolist() for array in self._stacked)
            told = dict(zip(self._asking, zip(*lists, strict=True), strict=True))
        else:
            told = {row: [array.tolist() for array in noted] for row, noted in self._noted.items()}
        for row, (logprob, tokens, others) in told.items():
            count = self._counts[row] or 0
            likelihoods[row] = Likelihood(logprob, list(zip(tokens, others, strict=True))[:count])
        return likelihoods

    @property
    def _asking(self) -> list[int]:
        return [row for row, count in enumerate(self._counts) if count is not None]

    def _spread(self) -> None:
        if self._stacked is not None:
            parts = enumerate(self._asking)
            stacked = self._stacked
            self._noted = {row: _Noted(*(array[at] for array in stacked)) for at, row in parts}
            self._stacked = None


def likelihoods(logits: mx.array, tokens: mx.array, count: int) -> list[Likelihood]:
    """Of tokens (R,) that stand behind these logits (R, vocab), with so many alternatives each.

    Waits for the device.
    """
    lists = (array.tolist() for array in _noted(logits, tokens, count))
    return [
        Likelihood(logprob, list(zip(others, logprobs, strict=True)))
        for logprob, others, logprobs in zip(*lists, strict=True)
    ]


def _noted(logits: mx.array, tokens: mx.array, count: int) -> _Noted:
    own = logits.astype(mx.float32)
    total = device.logsumexp(own)
    drawn = mx.take_along_axis(own, tokens[:, None], axis=-1)
    if count:
        others, places = largest(own, count)
    else:
        others, places = own[:, :0], mx.zeros((len(own), 0), dtype=mx.int32)
    return _Noted((drawn - total)[:, 0], places, others - total)
