"""Why a prompt says something else than was drawn."""

from registry.checkpoint.chat_format import ChatFormat
from runtime.text_messages import Spliced, Stop

from .call_syntax import HERMES


def stop_of(told: Spliced, said: str, form: ChatFormat) -> Stop:
    """By the text around the place, and by what the answer `said` up to there."""
    if told.stopped != "differs":
        return told.stopped
    known, asked = told.known.lstrip(), told.asked.lstrip()
    is_blank = (known, asked) != (told.known, told.asked)
    if is_blank and (known[:1] == asked[:1] or not (known and asked)):
        return "white_space"
    syntax = form.calls or HERMES
    start, end = (mark.strip() for mark in form.thinking or ("", ""))
    opening, closing = syntax.opening.strip(), syntax.call_close.strip()
    if _begins(start, told) or _is_within(start, end, said):
        return "thought"
    if _begins(opening, told) or _is_within(opening, closing, said):
        return "call"
    return "differs"


def _begins(mark: str, told: Spliced) -> bool:
    """Whether one side has the mark at the place, and the other has not."""
    sides = [_has(mark, told.before, text) for text in (told.known, told.asked)]
    return bool(mark) and sides[0] != sides[1]


def _has(mark: str, before: str, text: str) -> bool:
    """Whether the mark begins before the place or there, and ends behind it, or behind the text."""
    whole = before + text
    first, last = max(0, len(before) - len(mark) + 1), len(whole) - len(text.lstrip())
    return bool(text.strip()) and any(
        mark.startswith(whole[place : place + len(mark)]) for place in range(first, last + 1)
    )


def _is_within(mark: str, end: str, said: str) -> bool:
    """Whether what the mark has begun is not over."""
    return bool(mark) and mark in said and end not in said[said.rfind(mark) + len(mark) :]
