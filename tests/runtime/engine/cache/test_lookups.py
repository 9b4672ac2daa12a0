"""Tests of what is told of prompts and the prefix cache."""

from runtime.engine.cache.lookups import Lookups

PROMPT = list(range(100, 160))


def text_of(token: int) -> bytes:
    return f"<{token}>".encode()


def told(lookups: Lookups, tokens: list[int], cached: int, held: int) -> tuple[str, int]:
    lookups.note(7, tokens, cached, held)
    newest = lookups.told(text_of)[0]
    assert (newest.id, newest.prompt_tokens, newest.cached_tokens) == (7, len(tokens), cached)
    return newest.blocked, newest.matched_tokens


def test_why_no_more_was_reused() -> None:
    lookups = Lookups()
    assert told(lookups, PROMPT, 0, 0) == ("new", 0)
    lookups.remember([*PROMPT, 1, 2, 3])
    assert told(lookups, [*PROMPT, 1, 2, 3, 4, 5], 63, 63) == ("", 63)
    assert told(lookups, PROMPT, 59, 60) == ("", 60)  # the last token is always read
    assert told(lookups, [*PROMPT[:40], 9, 9], 40, 40) == ("differs", 40)
    assert told(lookups, [*PROMPT[:40], 9, 9], 32, 40) == ("no_checkpoint", 40)
    assert told(lookups, [*PROMPT, 1, 2, 3, 4], 20, 20) == ("evicted", 63)
    assert told(lookups, [*PROMPT[:3], 9, 9], 3, 3) == ("new", 3)
    assert (lookups.num_tokens, lookups.num_cached) == (60 + 65 + 60 + 42 + 42 + 64 + 5, 217)


def test_the_text_around_the_first_difference() -> None:
    lookups = Lookups()
    lookups.remember(PROMPT)
    lookups.note(1, [*PROMPT[:40], 9, 8], 40, 40)
    (lookup,) = lookups.told(text_of)
    assert lookup.before.endswith("<138><139>")
    assert lookup.known.startswith("<140><141>")
    assert lookup.asked == "<9><8>"


def test_what_was_too_little_to_be_worth_it() -> None:
    """It is said only where nothing else stood in the way."""
    lookups = Lookups()
    lookups.remember(PROMPT[:12])
    lookups.note(1, PROMPT, 0, 12, is_short=True)
    lookups.remember(PROMPT)
    lookups.note(2, [*PROMPT[:12], *[9] * 80], 0, 12, is_short=True)
    lookups.note(3, [*PROMPT, 9], 0, 12, is_short=True)
    assert [each.blocked for each in lookups.told(text_of)] == ["evicted", "differs", "short"]


def test_what_is_forgotten_is_not_told() -> None:
    lookups = Lookups()
    lookups.note(1, PROMPT, 0, 0)
    lookups.remember(PROMPT)
    lookups.forget()
    assert lookups.told(text_of) == []
    assert told(lookups, PROMPT, 0, 0) == ("new", 0)
    assert lookups.num_tokens == 120


def test_what_is_noted_is_bounded() -> None:
    lookups = Lookups()
    for number in range(100):
        lookups.remember(list(range(200_000)))
        lookups.note(number, PROMPT, 0, 0)
    assert [lookup.id for lookup in lookups.told(text_of)] == list(range(99, 67, -1))
    assert sum(map(len, lookups._remembered)) <= 1 << 20
