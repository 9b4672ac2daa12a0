"""Ids of tool calls for templates that take nine letters or digits only, as Mistral's do."""

import hashlib
import itertools
import re
from collections.abc import Iterable

_NINE = re.compile(r"[a-zA-Z0-9]{9}")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def nine_letters(ids: Iterable[str]) -> dict[str, str]:
    """What stands for each id: itself, if it has the form, else letters that depend on it alone.

    No two get the same.
    """
    told = dict.fromkeys(ids)
    mapped = {name: name for name in told if _NINE.fullmatch(name)}
    taken = set(mapped)
    for name in told:
        if name not in mapped:
            letters = next(word for word in _words(name) if word not in taken)
            mapped[name] = letters
            taken.add(letters)
    return mapped


def _words(name: str) -> Iterable[str]:
    for attempt in itertools.count():
        digest = hashlib.sha256(f"{attempt}:{name}".encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(digest)
        yield "".join(_ALPHABET[number // 62**place % 62] for place in range(9))
