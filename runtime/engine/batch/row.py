"""One generation inside the batch: its prompt, how it is drawn, and how far it has come."""

import time
from dataclasses import dataclass, field

from runtime.engine.answer.follower import Follower, Told
from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import Cache
from runtime.engine.cache.trail import Trail
from runtime.engine.sampling.logprobs import Likelihood
from runtime.engine.sampling.sampler import NUMERICAL_FAULT
from runtime.events import (
    Delta,
    Failed,
    Finished,
    FinishReason,
    PromptScores,
    ReasoningDelta,
    RowEvent,
    Score,
    TextDelta,
    Timings,
    ToolCallDelta,
    Usage,
)
from runtime.requests import Priority, SamplingParams


@dataclass(eq=False, slots=True)
class Row:
    """Owned by `Batch`. All but the last of its tokens are prefilled; the last starts the decode.

    One that is continued reads what it drew before together with its prompt. Times are of the
    monotonic clock.
    """

    id: int
    tokens: list[int]  # at least one: the prompt, and what was drawn before
    sampling: SamplingParams
    follower: Follower  # which has replayed what was drawn before
    num_replayed: int = 0  # tokens drawn before
    priority: Priority = "interactive"
    borders: list[int] = field(default_factory=list)  # where others may go on otherwise
    cache: Cache = field(default_factory=list)  # while it prefills; then its group holds it
    trail: Trail = field(default_factory=Trail)  # places that others can go on from
    num_prefilled: int = 0
    num_cached: int = 0  # of these, what was read by rows before it
    goes_on: bool = False  # from where another has ended: a conversation does
    was_on_disk: bool = False  # what is there of its prompt was asked for
    drawn: list[int] = field(default_factory=list)  # here, and read
    is_faulty: bool = False  # what it computed is of no use to others
    prompt_scores: list[Score] = field(default_factory=list)  # of what is prefilled, if asked for
    num_drawn: int = 0  # tokens whose computation was started, those before included
    arrived_at: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None

    def __post_init__(self) -> None:
        self.num_drawn = self.num_replayed

    @property
    def max_tokens(self) -> int:
        return self.follower.max_tokens

    @property
    def is_urgent(self) -> bool:
        return self.priority == "interactive"

    @property
    def is_scored(self) -> bool:
        """Whether it is told how likely its prompt is."""
        return self.sampling.prompt_logprobs is not None

    @property
    def num_to_prefill(self) -> int:
        return len(self.tokens) - 1 - self.num_prefilled

    @property
    def num_bytes(self) -> int:
        """What it holds of its own while it prefills; nothing if it is read for its twin's sake."""
        return kv_cache.num_bytes(self.cache) + self.trail.num_bytes

    @property
    def length(self) -> int:
        """Tokens in its KV cache."""
        return self.num_prefilled + self.num_drawn - self.num_replayed

    @property
    def is_drawing(self) -> bool:
        """Whether its pending token was drawn here, and does not end what it reads."""
        return self.num_drawn > self.num_replayed

    def begin(self, events: list[RowEvent]) -> None:
        """Its prompt is read. A row that shall draw nothing is over."""
        if self.is_scored:
            first = self.follower.text_of(self.tokens[0])
            events.append(PromptScores(self.id, first, self.prompt_scores))
        if (verdict := self.follower.verdict) is not None:
            events.append(self.finished(verdict))

    def take(self, token: int, likelihood: Likelihood | None, events: list[RowEvent]) -> bool:
        """Tell what a token says. Returns whether the row is over."""
        if token == NUMERICAL_FAULT:
            self.is_faulty = True
            events.append(Failed(self.id, "The model computed logits that are not numbers (NaN)."))
            return True
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
        self.drawn.append(token)
        events += (_delta(self.id, told) for told in self.follower.take(token, likelihood))
        if (verdict := self.follower.verdict) is not None:
            events.append(self.finished(verdict))
        return verdict is not None

    def finished(self, reason: FinishReason) -> Finished:
        """Its last event, with what it took until now."""
        now = time.monotonic()
        first_token_at = self.first_token_at or now
        follower = self.follower
        return Finished(
            self.id,
            reason,
            Usage(
                prompt_tokens=len(self.tokens) - self.num_replayed,
                completion_tokens=follower.num_taken,
                cached_tokens=min(self.num_cached, len(self.tokens) - self.num_replayed),
                reasoning_tokens=follower.num_reasoning,
            ),
            Timings(
                queued_s=0.0,
                prefill_s=first_token_at - self.arrived_at,
                decode_s=now - first_token_at,
            ),
            *follower.take_untold(),
            stop_sequence=follower.reader.stopped_by,
            is_repetition=follower.is_repetition,
        )


def _delta(row_id: int, told: Told) -> Delta:
    piece, tokens, scores = told
    match piece.kind:
        case "call":
            call = piece.number, piece.name, piece.text
            return ToolCallDelta(row_id, *call, tokens, scores)
        case "reasoning":
            return ReasoningDelta(row_id, piece.text, tokens, scores)
        case "text":
            return TextDelta(row_id, piece.text, tokens, scores)
