"""A grammar is tried before anybody waits for it: here it may take its time, and be killed."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property

from llguidance import LLMatcher, LLTokenizer

from runtime.grammar import GrammarFailed, check, compile

from .refused import ConstraintRefused

_PLAIN = (
    (r"Unimplemented keys: \[(.*)\]", r"the keywords \1 are not supported"),
    (r"Unsatisfiable schema: Regex is empty.*", "nothing satisfies it"),
    (r"Unsatisfiable schema: (.*)", r"nothing satisfies it: \1"),
    (r"Resource (\S+) is not present .*", r"\1 is not part of it, and nothing is fetched"),
    (r"Pointer (\S+) does not exist", r"\1 does not exist in it"),
    (r"oneOf constraints are not supported\..*", "the options of a oneOf overlap"),
    (r"regex parse error:.*?error: (.*)", r"a pattern is no regular expression: \1"),
    (r"^panic: .*", "it is too large"),
    (r".*lookarounds not supported.*", "a pattern looks around, which is not supported"),
)
_MAX_CHARS = 300
_MAX_KEPT_CHARS = 1_000_000  # of grammars that are known to be good
_NUM_STEPS = 24


class _Bytes:
    """What `LLTokenizer` asks of a tokenizer: special tokens at their places, behind them every
    byte. A grammar compiles with it as with the model's own, and it is made in no time."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, specials: Mapping[str, int]) -> None:
        size = max(specials.values(), default=-1) + 1
        self.tokens = [b""] * size + [bytes([byte]) for byte in range(256)] + [b"<end>"]
        self.eos_token_id = len(self.tokens) - 1
        self.special_token_ids = [*specials.values(), self.eos_token_id]
        for text, id in specials.items():
            self.tokens[id] = text.encode()

    def __call__(self, text: bytes) -> list[int]:
        raise NotImplementedError


class Trial:
    """For the grammars of one model."""

    def __init__(self, specials: Mapping[str, int]) -> None:
        """`specials` are its tokens that are no text, such as most marks."""
        self.specials = specials
        self._passed: OrderedDict[str, None] = OrderedDict()

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        return LLTokenizer(_Bytes(self.specials), slices=[])  # type: ignore[arg-type]

    def run(self, grammar: str, what: str, param: str) -> None:
        """Raises ConstraintRefused where it says nothing that a model could follow."""
        if grammar in self._passed:
            self._passed.move_to_end(grammar)
            return
        try:
            matcher = compile(grammar, self._vocabulary)
            _begin(matcher)
        except GrammarFailed as error:
            reason = _plain(str(error))
            raise ConstraintRefused(f"{what} cannot be enforced: {reason}.", param) from None
        self._passed[grammar] = None
        while sum(map(len, self._passed)) > _MAX_KEPT_CHARS:
            self._passed.popitem(last=False)


def _begin(matcher: LLMatcher) -> None:
    """Follow it for a few characters: some only show then that they are too much."""
    for step in range(_NUM_STEPS):
        mask = matcher.compute_bitmask()
        if matcher.is_error() and step == 0:
            raise GrammarFailed("nothing satisfies it")
        check(matcher)
        allowed = [bit for bit in range(8 * len(mask)) if mask[bit // 8] >> bit % 8 & 1]
        matcher.consume_token(allowed[step % len(allowed)])
        if matcher.is_stopped():
            return


def _plain(message: str) -> str:
    """llguidance's words without its state and its places in our own grammar."""
    message = message.partition("\n   1 |")[0]
    message = re.sub(r"^at \d+\(\d+\): |failed to compile JSON schema: ", "", message)
    for pattern, plain in _PLAIN:
        found = re.search(pattern, message, re.DOTALL)
        if found is not None:
            message = found.expand(plain)
            break
    message = " ".join(message.split()).rstrip(".")
    return message if len(message) <= _MAX_CHARS else f"{message[:_MAX_CHARS]}..."
