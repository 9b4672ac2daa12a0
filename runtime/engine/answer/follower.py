"""What follows the tokens of one row: their text, and the verdict that the answer is over.

The batch hands every token over within the step that reads it, so that all rows that end in a step
leave in one go, whatever ends them.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from runtime.events import FinishReason

from .detokenizer import Detokenizer


class Followed(NamedTuple):
    """What a token brought."""

    text: str  # that may be sent now; often none
    tokens: list[int]  # that the text is made of; none where there is none
    verdict: FinishReason | None  # None: the answer goes on


class Follower:
    """Owned by its row. Its state follows from the tokens it took, and from nothing else."""

    def __init__(
        self, detokenizer: Detokenizer, eos_token_ids: Collection[int], max_tokens: int
    ) -> None:
        self.num_taken = 0
        self._detokenizer = detokenizer
        self._eos_token_ids = eos_token_ids
        self.max_tokens = max_tokens
        self._untold: list[int] = []  # tokens that made no text yet

    def take(self, token: int) -> Followed:
        """The row's next token. Not to be called again after a verdict."""
        self.num_taken += 1
        self._untold.append(token)
        is_eos = token in self._eos_token_ids
        is_last = is_eos or self.num_taken >= self.max_tokens
        text = "" if is_eos else self._detokenizer.add(token)
        if is_last or self._detokenizer.is_stopped:
            text += self._detokenizer.finish()
        # Only now: what was held back may have ended in a stop sequence.
        verdict: FinishReason | None = "length" if is_last else None
        if is_eos or self._detokenizer.is_stopped:
            verdict = "stop"
        return Followed(text, self.take_untold() if text else [], verdict)

    def replay(self, tokens: Sequence[int]) -> FinishReason | None:
        """Take tokens that were told before, without telling them again. Returns the verdict."""
        verdict: FinishReason | None = None
        for token in tokens:
            verdict = self.take(token).verdict
        self._untold.clear()
        return verdict

    def take_untold(self) -> list[int]:
        """The tokens that made no text yet; they are told by whoever asks."""
        tokens, self._untold = self._untold, []
        return tokens
