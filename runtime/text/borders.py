"""Where other conversations will say something else, asked of the template.

Two places: before what the first user says, for others with the same system text and tools; and
behind the last message, for the next turn of this one, whose template may write an answer that is
over otherwise than it begins one. A model whose state cannot be cut keeps a copy of it there.
"""

from typing import Any

from runtime.beginning import common_length
from runtime.requests import Turn
from runtime.text_messages import Known

from .prompt import ChatPrompt, Message
from .template import TemplateError

_OTHER = "\ue000"  # of no script: nobody begins with it


def borders(
    chat: ChatPrompt,
    messages: list[Message],
    options: dict[str, Any],
    turn: Turn,
    text: str,
    known: Known | None,
) -> list[int]:
    """How many characters of the prompt stand before the first and the second; 0: not known."""
    return [
        _of_user(chat, messages, options, text, known),
        _of_answer(chat, messages, options, turn, text),
    ]


def _of_user(
    chat: ChatPrompt,
    messages: list[Message],
    options: dict[str, Any],
    text: str,
    known: Known | None,
) -> int:
    if known is not None and known.reading.borders:
        place = known.reading.borders[0][0]
        if 0 < place <= common_length(text, known.reading.text):
            return place
    users = (place for place, message in enumerate(messages) if message["role"] == "user")
    if (first := next(users, None)) is None:
        return 0
    others = [*messages[:first], {"role": "user", "content": _OTHER}]
    return _common(chat, others, options, text)


def _of_answer(
    chat: ChatPrompt, messages: list[Message], options: dict[str, Any], turn: Turn, text: str
) -> int:
    if turn == "none":
        return 0
    return _common(chat, messages if turn == "new" else messages[:-1], options, text)


def _common(chat: ChatPrompt, messages: list[Message], options: dict[str, Any], text: str) -> int:
    """As far as the prompt says what these messages say, without what begins an answer."""
    try:
        return common_length(text, chat.render(messages, options, "none").text)
    except TemplateError:
        return 0
