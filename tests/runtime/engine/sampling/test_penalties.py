"""Tests of runtime.engine.sampling.penalties: as a reference has them, while rows come and go."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.engine.sampling.penalties import Penalties
from runtime.requests import SamplingParams

VOCAB_SIZE = 300
ROWS = [
    SamplingParams(),
    SamplingParams(presence_penalty=0.7),
    SamplingParams(frequency_penalty=-1.5),
    SamplingParams(repetition_penalty=1.3),
    SamplingParams(presence_penalty=-2, frequency_penalty=2, repetition_penalty=0.4),
    SamplingParams(presence_penalty=1, frequency_penalty=0.25),
]


class Text:
    """A row of the reference: what its prompt was, and what it drew."""

    def __init__(self, params: SamplingParams, prompt: Sequence[int], drawn: Sequence[int]) -> None:
        self.params, self.prompt, self.drawn = params, list(prompt), list(drawn)

    def column(self) -> Penalties:
        return Penalties.begin([self.params], [[*self.prompt, *self.drawn]], [len(self.drawn)])

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """As OpenAI's reference and CTRL's paper have it, a token at a time."""
        changed = logits.copy()
        for token in {*self.prompt, *self.drawn}:
            factor = np.float32(self.params.repetition_penalty)
            changed[token] *= 1 / factor if changed[token] > 0 else factor
        for token in set(self.drawn):
            changed[token] -= self.params.presence_penalty
            changed[token] -= self.params.frequency_penalty * self.drawn.count(token)
        return changed


def column_of(texts: Sequence[Text]) -> Penalties:
    whole = texts[0].column()
    for text in texts[1:]:
        whole.join(text.column())
    return whole


def check(penalties: Penalties, texts: Sequence[Text], draw: np.random.Generator) -> None:
    """Apply them to new logits, and draw a token for each row."""
    logits = draw.normal(0, 3, (len(texts), VOCAB_SIZE)).astype(np.float32)
    logits[:, ::7] = -np.inf
    expected = np.stack([text.apply(row) for text, row in zip(texts, logits, strict=True)])
    applied = np.array(penalties.apply(mx.array(logits)))
    np.testing.assert_allclose(applied, expected, rtol=1e-5, atol=1e-5)
    tokens = draw.integers(0, 12, len(texts)).astype(np.int32)  # few, so that they repeat
    penalties.note(mx.array(tokens))
    for text, token in zip(texts, tokens, strict=True):
        text.drawn.append(int(token))


def test_they_are_as_a_plain_reference_has_them_while_rows_come_and_go() -> None:
    """Rows with what they drew before, rows of neither kind, groups joined, kept and taken."""
    draw = np.random.default_rng(5)
    texts = [
        Text(params, draw.integers(0, 20, 9).tolist(), draw.integers(0, 20, 3 * (at % 3)).tolist())
        for at, params in enumerate(ROWS)
    ]
    penalties = column_of(texts[:4])
    for _ in range(3):
        check(penalties, texts[:4], draw)
    others = column_of(texts[4:])
    check(others, texts[4:], draw)
    penalties.join(others)
    for _ in range(2):
        check(penalties, texts, draw)
    part, rest = penalties.take([1, 3, 4]), [texts[at] for at in (0, 2, 5)]
    penalties.keep([0, 2, 5])
    for _ in range(2):
        check(part, [texts[at] for at in (1, 3, 4)], draw)
        check(penalties, rest, draw)
    penalties.keep([0])
    check(penalties, rest[:1], draw)


@pytest.mark.parametrize("params", ROWS)
def test_a_row_is_penalised_alike_in_any_company(params: SamplingParams) -> None:
    """To the bit: what it draws must not depend on who is beside it."""
    draw = np.random.default_rng(6)
    own = Text(params, draw.integers(0, 20, 9).tolist(), draw.integers(0, 20, 5).tolist())
    others = [Text(other, draw.integers(0, 20, 9).tolist(), ()) for other in ROWS]
    logits = draw.normal(0, 3, (1 + len(others), VOCAB_SIZE)).astype(np.float32)
    alone = own.column().apply(mx.array(logits[:1]))
    together = column_of([own, *others]).apply(mx.array(logits))
    assert np.array_equal(np.array(alone)[0], np.array(together)[0])
