"""What the web process and a text worker say to each other, as msgpack frames."""

from typing import TypeAlias

import msgspec

from runtime.protocol import ChatMessage, Json


class EncodeChat(msgspec.Struct, frozen=True, tag=True):
    """Render these messages with the folder's template, then tokenize."""

    folder: str
    messages: tuple[ChatMessage, ...]
    options: dict[str, Json]
    deadline_s: float


class Tokens(msgspec.Struct, frozen=True, tag=True):
    """The prompt."""

    tokens: list[int]


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """It cannot be done, for the reason given."""

    message: str


Reply: TypeAlias = Tokens | Refusal
