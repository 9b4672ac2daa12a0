"""What follows the tokens of one row: what they say, and the verdict that the answer is over.

The batch hands every token over within the step that reads it, so that all rows that end in a step
leave in one go, whatever ends them.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from runtime.engine.sampling.logprobs import Likelihood
from runtime.events import FinishReason, Score

from .guide import Guide
from .loop_guard import LoopGuard
from .piece import Piece
from .reader import AnswerReader


class Told(NamedTuple):
    """A piece, and the tokens that it is made of with their scores; the first has them all."""

    piece: Piece
    tokens: list[int]
    scores: list[Score]


class Follower:
    """Owned by its row. Its state follows from the tokens it took, and from nothing else."""

    def __init__(
        self,
        reader: AnswerReader,
        end_token_ids: Collection[int],
        max_tokens: int,
        *,
        guide: Guide | None = None,
        loop_guard: LoopGuard | None = None,
        text_of: Callable[[int], bytes] = lambda _: b"",
    ) -> None:
        """`text_of` a single token, for those that are scored."""
        self.num_taken = 0
        self.num_reasoning = 0  # of them thought
        self.end_token_ids = end_token_ids
        self.max_tokens = max_tokens
        self.reader = reader
        self.guide = guide
        # None: the answer goes on.
        self.verdict: FinishReason | None = None if max_tokens else "length"
        self._loop_guard = loop_guard
        self.text_of = text_of
        self._untold: list[int] = []  # tokens that made no text yet
        self._untold_scores: list[Score] = []
        self._guide_thoughts()

    @property
    def is_repetition(self) -> bool:
        """Whether the answer was ended because it only repeats itself."""
        return self._loop_guard is not None and self._loop_guard.is_looping

    def take(self, token: int, likelihood: Likelihood | None = None) -> list[Told]:
        """What the row's next token says. Not to be called again after a verdict.

        Raises GrammarFailed for a token that its grammar does not allow.
        """
        self.num_taken += 1
        self._untold.append(token)
        if likelihood is not None:
            self._untold_scores.append(self.score(token, likelihood))
        is_end = token in self.end_token_ids
        if self.reader.is_thinking and not is_end:
            self.num_reasoning += 1
        pieces = [] if is_end else self.reader.add(token)
        if self.guide is not None and not is_end:
            self.guide.take(token)
            self._guide_thoughts()
        is_complete = is_end or self.reader.is_full
        is_complete = is_complete or (self.guide is not None and self.guide.is_over)
        if self._loop_guard is not None and not is_end:
            self._loop_guard.add(token)
        is_last = is_complete or self.num_taken >= self.max_tokens or self.is_repetition
        if is_last or self.reader.stopped_by is not None:
            pieces += self.reader.finish()
        # Only now: what was held back may have ended in a stop sequence.
        if is_complete or self.is_repetition or self.reader.stopped_by is not None:
            self.verdict = "tool_calls" if is_complete and self.reader.num_calls else "stop"
        elif is_last:
            self.verdict = "length"
        told: list[Told] = []
        for piece in pieces:
            told.append(Told(piece, *self.take_untold()))
        return told

    def _guide_thoughts(self) -> None:
        if self.guide is not None and self.reader.is_thinking:
            self.guide.think(self.num_reasoning)

    def score(self, token: int, likelihood: Likelihood) -> Score:
        others = [(self.text_of(other), logprob) for other, logprob in likelihood.alternatives]
        return Score(self.text_of(token), likelihood.logprob, others)

    def replay(self, tokens: Sequence[int]) -> FinishReason | None:
        """Take tokens that were told before, without telling them again. Returns the verdict."""
        for token in tokens:
            self.take(token)
        self.take_untold()
        return self.verdict

    def take_untold(self) -> tuple[list[int], list[Score]]:
        """The tokens that made no text yet, and their scores; they are told by whoever asks."""
        untold = self._untold, self._untold_scores
        self._untold, self._untold_scores = [], []
        return untold
