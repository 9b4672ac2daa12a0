"""What an answer without the file means: try again, or give up. Used by `transfer`."""

import contextlib
import email.utils
import time

import httpx

from registry.errors import SourceMissing, SourceRefused

from . import address
from .remote import RETRIED, Interrupted


def refusal(response: httpx.Response) -> Interrupted | SourceRefused:
    """The error to raise for a status that brings no file."""
    status = response.status_code
    where = address.shown(response.url)
    if status in RETRIED:
        return Interrupted(f"{where} answered {status}", _retry_after_s(response))
    match status:
        case 401 | 403:
            advice = (
                "it needs permission. For a model of the hub: accept its terms on its page, and "
                "set HF_TOKEN to a token that may read it"
            )
        case 404 | 410:
            return SourceMissing(f"{where} answered {status}: there is no such file.")
        case _:
            advice = "that is not the file"
    return SourceRefused(f"{where} answered {status}: {advice}.")


def number(text: str | None) -> int | None:
    """A header's plain decimal number, if it is one that a file's size could be."""
    if text is not None and text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    return None


def describe(error: httpx.TransportError) -> str:
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name


def _retry_after_s(response: httpx.Response) -> float | None:
    """Retry-After, in seconds or as a date."""
    value = response.headers.get("retry-after", "")
    if (seconds := number(value)) is not None:
        return float(seconds)
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
