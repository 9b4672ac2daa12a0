"""Grammars as llguidance takes them, tried in a text worker and followed in an engine."""

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

# A step fails that would take longer than some tens of milliseconds; there are a thousand optional
# properties in a row of 50,000 items.
_LIMITS = LLParserLimits(
    max_items_in_row=10_000,
    step_max_items=50_000,
    step_lexer_fuel=100_000,
    max_lexer_states=50_000,
    verbose_errors=False,
)


class GrammarFailed(Exception):
    """It cannot be compiled, or not be followed any further."""


def compile(grammar: str, vocabulary: LLTokenizer) -> LLMatcher:
    """At its beginning. Raises GrammarFailed."""
    matcher = LLMatcher(vocabulary, grammar, log_level=0, limits=_LIMITS)
    check(matcher)
    return matcher


def check(matcher: LLMatcher) -> None:
    """Raises GrammarFailed where it came to an error."""
    if matcher.is_error():
        raise GrammarFailed(matcher.get_error().partition("\n<")[0])
