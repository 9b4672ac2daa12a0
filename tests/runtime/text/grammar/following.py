"""What a grammar takes, character by character."""

import re

from runtime.grammar import compile
from runtime.text.grammar.trial import Trial

# Tokens of a model that are no text.
SPECIALS = {"<s>": 0, "<|im_end|>": 1, "[TOOL_CALLS]": 2, "<|call|>": 3, "<|end|>": 4, '<|"|>': 5}
TRIAL = Trial(SPECIALS)
_PIECE = re.compile("|".join([*map(re.escape, SPECIALS), "."]), re.DOTALL)


def taken(grammar: str | None, text: str) -> tuple[str, bool]:
    """How much of an answer it takes, and whether that may be the whole."""
    assert grammar is not None
    matcher = compile(grammar, TRIAL._vocabulary)
    begun = ""
    for piece in _PIECE.findall(text):
        tokens = [len(SPECIALS) + byte for byte in piece.encode()]
        if piece in SPECIALS:
            tokens = [SPECIALS[piece]]
        if matcher.is_stopped() or matcher.validate_tokens(tokens) < len(tokens):
            break
        matcher.consume_tokens(tokens)
        begun += piece
    return begun, matcher.is_accepting()
