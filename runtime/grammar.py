"""Grammars as llguidance takes them, tried in a text worker and followed in an engine."""

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

# Fuel is what keeps a step short whatever the grammar is: 15 ms at worst.
_LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)


class GrammarFailed(Exception):
    """It cannot be compiled, or not be followed any further."""


def compile(grammar: str, vocabulary: LLTokenizer) -> LLMatcher:
    """At its beginning. Raises GrammarFailed."""
    matcher = LLMatcher(vocabulary, grammar, log_level=0, limits=_LIMITS)
    if matcher.is_error():
        raise GrammarFailed(matcher.get_error())
    return matcher
