"""Tests of web.errors: what a refusal says in numbers is there for programs, too."""

from runtime.errors import Held, InsufficientMemory
from web.dialect import ANTHROPIC, MIMOE, OPENAI
from web.errors import failure_of


def test_a_refused_load_has_its_numbers_in_every_dialect() -> None:
    """In words and as fields: what it needs, what there is, what could go."""
    held = [Held("big", 4_000_000_000, "busy"), Held("dear", 1_500_000_000, "pinned")]
    failure = failure_of(InsufficientMemory("new", 6_000_000_000, 250_000_000, held))
    assert failure is not None and failure.status == 503
    assert failure.headers == {"Retry-After": "30", "x-should-retry": "false"}
    words = ("6.00 GB", "0.25 GB", "'big' (4.00 GB, busy)", "'dear' (1.50 GB, pinned)")
    assert all(word in failure.message for word in words)
    for dialect in (OPENAI, MIMOE, ANTHROPIC):
        error = failure.body(dialect)["error"]
        assert isinstance(error, dict)
        assert error["needed_bytes"] == 6_000_000_000 and error["available_bytes"] == 250_000_000
        assert error["unloadable"] == [
            {"id": "big", "memory_bytes": 4_000_000_000, "state": "busy"},
            {"id": "dear", "memory_bytes": 1_500_000_000, "state": "pinned"},
        ]
