"""Rows without a tokenizer: every token is told as its number, so that tests can read them back."""

from collections.abc import Collection

import msgspec
from mlx_lm.tokenizer_utils import StreamingDetokenizer

from runtime.engine.answer.detokenizer import Detokenizer
from runtime.engine.answer.follower import Follower
from runtime.engine.batch.row import Row
from runtime.events import RowEvent, TextDelta
from runtime.requests import SamplingParams

GREEDY = SamplingParams(temperature=0)


class Numbers(StreamingDetokenizer):
    """Token 17 is the text "17 "."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.text = ""
        self.offset = 0

    def add_token(self, token: int) -> None:
        self.text += f"{token} "

    def finalize(self) -> None:
        pass


def row(
    number: int,
    prompt: list[int],
    max_tokens: int,
    sampling: SamplingParams = GREEDY,
    *,
    eos: Collection[int] = (),
    stop: tuple[str, ...] = (),
) -> Row:
    """A row that draws up to `max_tokens`."""
    params = msgspec.structs.replace(
        sampling, max_tokens=max_tokens, stop=stop, seed=sampling.seed or 0
    )
    return Row(number, prompt, params, Follower(Detokenizer(Numbers(), stop), eos, max_tokens))


def tokens_of(events: list[RowEvent]) -> list[tuple[int, int]]:
    """The tokens that the events tell of, each with the id of its row."""
    deltas = (event for event in events if isinstance(event, TextDelta))
    return [(delta.id, int(text)) for delta in deltas for text in delta.text.split()]
