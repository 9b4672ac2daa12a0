"""The wires that are spoken here, and which of them a path belongs to; everything else is one
code path."""

from dataclasses import dataclass

STORE_BASE = "/mimik-ai/store/v1"


@dataclass(frozen=True, slots=True)
class Dialect:
    """A base path. What is peculiar to it stands where it is written: errors in `errors`."""

    name: str
    base: str


MIMOE = Dialect("mimoe", "/mimik-ai/openai/v1")
OPENAI = Dialect("openai", "/v1")
ANTHROPIC = Dialect("anthropic", "/v1")
CHAT_DIALECTS = (MIMOE, OPENAI)  # which have the same routes


def dialect_of(path: str) -> Dialect:
    """The dialect that an error on this path is written in."""
    if path.startswith("/mimik-ai/"):
        return MIMOE
    return ANTHROPIC if path == "/v1/messages" or path.startswith("/v1/messages/") else OPENAI
