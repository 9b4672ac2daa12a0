"""Penalties for tokens that stand in the text already.

`presence_penalty` and `frequency_penalty` are OpenAI's (its API reference) and look at what was
drawn; `repetition_penalty` is CTRL's (Keskar et al. 2019) and looks at the prompt too, as in
transformers and vLLM.
"""

from collections.abc import Sequence

import mlx.core as mx

from runtime.requests import SamplingParams

from .counts import Counts
from .rows import only, put


class Penalties:
    """The penalties of a group's rows, a `Column` of the group."""

    def __init__(self, params: Sequence[SamplingParams], drawn: Counts, seen: Counts) -> None:
        """What is `drawn` counts where there is a presence or frequency penalty, what is `seen`
        where there is one for repetition."""
        self._params = list(params)
        self._drawn, self._seen = drawn, seen
        self._refresh()

    @classmethod
    def begin(
        cls,
        params: Sequence[SamplingParams],
        read: Sequence[Sequence[int]],
        num_drawn: Sequence[int],
    ) -> "Penalties":
        """`read` is each row's prompt with the `num_drawn` tokens that it drew before."""
        rows = list(enumerate(params))
        drawn = {
            at: read[at][len(read[at]) - num_drawn[at] :]
            for at, row in rows
            if row.presence_penalty or row.frequency_penalty
        }
        seen = {at: read[at] for at, row in rows if row.repetition_penalty != 1}
        return cls(params, Counts(drawn, len(params)), Counts(seen, len(params)))

    def join(self, other: "Penalties") -> None:
        self._params += other._params
        self._drawn.join(other._drawn)
        self._seen.join(other._seen)
        self._refresh()

    def keep(self, rows: Sequence[int]) -> None:
        self._params = [self._params[row] for row in rows]
        self._drawn.keep(rows)
        self._seen.keep(rows)
        self._refresh()

    def take(self, rows: Sequence[int]) -> "Penalties":
        params = [self._params[row] for row in rows]
        return Penalties(params, self._drawn.take(rows), self._seen.take(rows))

    def apply(self, logits: mx.array) -> mx.array:
        """The logits (B, vocab) with what stands in the texts made less likely."""
        if rows := self._seen.rows:
            # A positive logit is divided by the penalty, a negative one multiplied with it. The
            # factors are 1 where a token was not seen.
            is_seen = mx.minimum(self._seen.array(logits.shape[-1]), 1)
            own = only(logits, rows)
            above = mx.maximum(own, 0) * (1 + is_seen * (1 / self._repetition - 1))
            below = mx.minimum(own, 0) * (1 + is_seen * (self._repetition - 1))
            logits = put(logits, rows, above + below)
        if rows := self._drawn.rows:
            counts = self._drawn.array(logits.shape[-1])
            less = counts * self._frequency + mx.minimum(counts, 1) * self._presence
            logits = put(logits, rows, only(logits, rows) - less)
        return logits

    def note(self, tokens: mx.array) -> None:
        """These (B,) were drawn; the host need not have read them."""
        self._drawn.add(tokens)
        self._seen.add(tokens)

    def _refresh(self) -> None:
        drawn = [self._params[row] for row in self._drawn.rows]
        seen = [self._params[row] for row in self._seen.rows]
        self._presence = mx.array([[row.presence_penalty] for row in drawn])
        self._frequency = mx.array([[row.frequency_penalty] for row in drawn])
        self._repetition = mx.array([[row.repetition_penalty] for row in seen])
