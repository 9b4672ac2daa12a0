"""A model's compiled grammars, the last few kept. They are compiled in a thread of their own, so
that a large one costs the rows beside it nothing."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

from llguidance import LLMatcher, LLTokenizer

from runtime.grammar import compile

_MAX_KEPT = 64
_MAX_KEPT_CHARS = 4_000_000  # of their texts


class Grammars:
    """Of one model."""

    def __init__(self, make_vocabulary: Callable[[], LLTokenizer]) -> None:
        """A vocabulary takes a while to make: it is made when there is need, or time."""
        self._make_vocabulary = make_vocabulary
        self._kept: OrderedDict[str, Future[LLMatcher]] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "grammars")
        self.is_prepared = False  # or on the way

    def prepare(self) -> None:
        """Have the vocabulary made."""
        self.is_prepared = True
        self._thread.submit(lambda: self._vocabulary)

    def compiled(self, grammar: str) -> Future[LLMatcher]:
        """A matcher to copy, when it is ready. The future may raise GrammarFailed."""
        if grammar not in self._kept:
            self.is_prepared = True
            self._kept[grammar] = self._thread.submit(self._compile, grammar)
        self._kept.move_to_end(grammar)
        while len(self._kept) > 1 and (
            len(self._kept) > _MAX_KEPT or sum(map(len, self._kept)) > _MAX_KEPT_CHARS
        ):
            self._kept.popitem(last=False)
        return self._kept[grammar]

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        return self._make_vocabulary()

    def _compile(self, grammar: str) -> LLMatcher:
        return compile(grammar, self._vocabulary)
