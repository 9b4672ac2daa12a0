"""Ids of tool calls for templates that take only those of a certain form."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence

_NINE = re.compile(r"[a-zA-Z0-9]{9}")
_OF_FUNCTION = re.compile(r"functions\.[^:]+:[0-9]+")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def nine_letters(ids: Iterable[str]) -> dict[str, str]:
    """What stands for each id in Mistral's templates: nine letters or digits.

    One that has the form stays itself; else it alone decides. No two get the same.
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
        yield "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:9])


def of_functions(calls: Sequence[tuple[str, str]]) -> list[str]:
    """What stands for each call's id in Kimi's templates: `functions.NAME:NUMBER`, from 0 on.

    `calls` has the id and the name of each, in their order; clients use an id again, so it is the
    call that decides. One that has the form stays itself. No two get the same.
    """
    taken = {name for name, _ in calls if _OF_FUNCTION.fullmatch(name)}
    told: list[str] = []
    for number, (name, function) in enumerate(calls):
        if not _OF_FUNCTION.fullmatch(name):
            ids = (f"functions.{function}:{place}" for place in itertools.count(number))
            name = next(word for word in ids if word not in taken)
            taken.add(name)
        told.append(name)
    return told
