"""What is added to single tokens' logits: `logit_bias`, and ends that may not come yet."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import mlx.core as mx

from runtime.requests import SamplingParams


@dataclass(frozen=True, slots=True)
class _Row:
    bias: dict[int, float]
    ends: Collection[int]  # tokens that end the answer
    min_tokens: int


class Bias:
    """The biases of a group's rows, a `Column` of the group. Rows without cost nothing."""

    def __init__(self, rows: Sequence[_Row | None]) -> None:
        self._rows = list(rows)
        self._forbidding: list[int] | None = None  # rows that may not end, as of the arrays
        self._at: tuple[mx.array, mx.array] | None = None  # rows and tokens
        self._values: mx.array | None = None

    @classmethod
    def begin(cls, params: Sequence[SamplingParams], ends: Sequence[Collection[int]]) -> "Bias":
        """`ends` are the tokens that end each row."""
        rows = zip(params, ends, strict=True)
        return cls(
            [
                _Row(row.logit_bias, end, row.min_tokens)
                if row.logit_bias or row.min_tokens
                else None
                for row, end in rows
            ]
        )

    def join(self, other: "Bias") -> None:
        self._rows += other._rows
        self._forbidding = None

    def keep(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[row] for row in rows]
        self._forbidding = None

    def take(self, rows: Sequence[int]) -> "Bias":
        return Bias([self._rows[row] for row in rows])

    def apply(self, logits: mx.array, positions: Sequence[int]) -> mx.array:
        """The logits (B, vocab) with what is added; `positions` count each row's drawn tokens."""
        if not any(self._rows):
            return logits
        forbidding = [
            at
            for at, row in enumerate(self._rows)
            if row is not None and positions[at] < row.min_tokens
        ]
        if forbidding != self._forbidding:
            self._forbidding = forbidding
            self._collect(logits.shape[-1])
        if self._at is None or self._values is None:
            return logits
        return logits.at[self._at].add(self._values.astype(logits.dtype))

    def _collect(self, vocab_size: int) -> None:
        at: list[int] = []
        tokens: list[int] = []
        values: list[float] = []
        for number, row in enumerate(self._rows):
            if row is None:
                continue
            added = dict(row.bias)
            if number in (self._forbidding or ()):
                added |= dict.fromkeys(row.ends, -mx.inf)
            for token, value in added.items():
                if token < vocab_size:
                    at.append(number)
                    tokens.append(token)
                    values.append(value)
        self._at = (mx.array(at), mx.array(tokens)) if at else None
        self._values = mx.array(values) if at else None
