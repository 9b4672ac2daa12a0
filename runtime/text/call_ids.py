"""Ids of tool calls for templates that take only those of a certain form."""

import hashlib
import itertools
import re
from collections.abc import Iterable

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


def of_functions(functions: dict[str, str]) -> dict[str, str]:
    """What stands for each id in Kimi's templates: `functions.NAME:NUMBER`, counted from 0.

    `functions` has the ids in their order, with the names. No two get the same.
    """
    mapped = {name: name for name in functions if _OF_FUNCTION.fullmatch(name)}
    taken = set(mapped)
    for number, (name, function) in enumerate(functions.items()):
        if name not in mapped:
            ids = (f"functions.{function}:{place}" for place in itertools.count(number))
            mapped[name] = next(word for word in ids if word not in taken)
            taken.add(mapped[name])
    return mapped
