"""Where the mimOE and the OpenAI wire differ, in one place; everything else is one code path."""

from dataclasses import dataclass

STORE_BASE = "/mimik-ai/store/v1"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One base path and its habits."""

    name: str
    base: str
    lists_loaded_only: bool  # GET /models: what is in memory, or all that is ready
    has_integer_codes: bool  # error.code is the HTTP status
    always_sends_usage: bool  # on the chunk with the finish reason, unasked
    reports_status: bool  # mimoe_status chunks while a model loads or a prompt is read


MIMOE = Dialect(
    name="mimoe",
    base="/mimik-ai/openai/v1",
    lists_loaded_only=True,
    has_integer_codes=True,
    always_sends_usage=True,
    reports_status=True,
)
OPENAI = Dialect(
    name="openai",
    base="/v1",
    lists_loaded_only=False,
    has_integer_codes=False,
    always_sends_usage=False,
    reports_status=False,
)
DIALECTS = (MIMOE, OPENAI)


def dialect_of(path: str) -> Dialect:
    """The dialect that an error on this path is written in."""
    return MIMOE if path.startswith("/mimik-ai/") else OPENAI
