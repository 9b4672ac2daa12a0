"""What an answer without the file means: try again, or give up.

Used by `transfer` and `peek`; of a proxy's answers, by `exchange` and by `hub.repository`.
"""

import contextlib
import email.utils
import re
import time

import httpx

from registry.errors import ProxyRefused, SourceMissing, SourceRefused

from . import address
from .proxies import Proxy
from .remote import RETRIED, Interrupted


def refusal(response: httpx.Response) -> Interrupted | SourceRefused:
    """The error to raise for a status that brings no file."""
    status = response.status_code
    where = address.shown(response.url) + through(response.extensions.get("proxy"))
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


def through(proxy: Proxy | None) -> str:
    """For messages: the proxy that was asked, if one was."""
    return "" if proxy is None else f" through the proxy {proxy}"


def proxy_refusal(proxy: Proxy, answer: str, host: str) -> Interrupted | ProxyRefused:
    """The error to raise for a proxy's own answer, such as "407 Proxy Authentication Required"."""
    matched = re.match(r"[1-5]\d\d\b", answer)
    status = int(matched[0]) if matched else 0
    if status == 407:
        return ProxyRefused(
            f"The proxy {proxy} answered 407: it wants a user name and a password. Set "
            f"{proxy.variable} to http://USER:PASSWORD@HOST:PORT with the right ones."
        )
    if 400 <= status < 500 and status not in RETRIED:
        return ProxyRefused(
            f"The proxy {proxy} answered {answer.strip()}: it does not let through to {host}. If "
            "that can be reached without a proxy, name it in NO_PROXY."
        )
    return Interrupted(f"the proxy {proxy} answered {answer.strip()}")


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
