"""What the next token of a row may be: by its grammar, and by how long it may think."""

from collections.abc import Sequence

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from runtime.grammar import GrammarFailed, check


class Guide:
    """Of one row. Its state follows from the tokens it was given."""

    def __init__(
        self,
        matcher: LLMatcher | None = None,
        end_of_thoughts: Sequence[int] = (),
        max_reasoning_tokens: int | None = None,
    ) -> None:
        """`matcher` is fresh and belongs to this row from now on. After so many tokens thought
        those of `end_of_thoughts` follow."""
        self._matcher = matcher
        self._end_of_thoughts = list(end_of_thoughts)
        self._max_reasoning_tokens = max_reasoning_tokens
        self._forced: list[int] | None = None  # what is left of the end of the thoughts

    @property
    def is_over(self) -> bool:
        """Whether the grammar has nothing more to say."""
        return self._matcher is not None and self._matcher.is_stopped()

    @property
    def is_free(self) -> bool:
        """Whether any token may come next."""
        return self._matcher is None and not self._forced

    def think(self, num_tokens: int) -> None:
        """The row thinks, and has for so many tokens."""
        limit = self._max_reasoning_tokens
        if limit is None or num_tokens < limit or self._forced is not None:
            return
        end = self._end_of_thoughts
        # Not inside a character: there the grammar takes no tag yet.
        if self._matcher is None or self._matcher.validate_tokens(end) == len(end):
            self._forced = list(end)

    def take(self, token: int) -> None:
        """The row drew this token, which ends nothing. Raises GrammarFailed."""
        if self._forced and self._forced[0] == token:
            self._forced.pop(0)
        if self._matcher is not None and not self._matcher.consume_token(token):
            raise GrammarFailed(f"Token {token} is none that the grammar allows.")

    def fill(self, words: NDArray[np.uint32]) -> None:
        """Set the bits of the tokens that may come next: bit 0 of a word is its first token.

        Raises GrammarFailed where there are none.
        """
        words[:] = 0
        if self._forced:
            token = self._forced[0]
            words[token // 32] = 1 << token % 32
        elif self._matcher is not None:
            mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint32)
            check(self._matcher)  # after an error the mask allows an end
            width = min(len(mask), len(words))
            words[:width] = mask[:width]
