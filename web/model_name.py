"""Which model a client means by a name that is no id, and which ids are near it."""

import difflib
from collections.abc import Iterable

_MAX_NAMED = 3
_MAX_COMPARED = 512  # characters: comparing takes the square of them


def meant(name: str, ids: Iterable[str]) -> str | None:
    """The id itself; without Ollama's `:latest`; or the only one that differs in case alone."""
    known = list(ids)
    for wanted in (name, name.removesuffix(":latest")):
        if wanted in known:
            return wanted
        same = [model_id for model_id in known if model_id.casefold() == wanted.casefold()]
        if len(same) == 1:
            return same[0]
    return None


def nearest(name: str, ids: Iterable[str]) -> list[str]:
    """A few ids that look alike, the nearest first; an owner and a tag do not count."""
    if len(name) > _MAX_COMPARED:
        return []
    by_key: dict[str, list[str]] = {}
    for model_id in ids:
        by_key.setdefault(model_id.casefold(), []).append(model_id)
    whole = name.casefold()
    plain = whole.rpartition("/")[2].partition(":")[0]
    found: list[str] = []
    for wanted in (plain, whole.replace("/", "-").replace(":", "-")):
        for key in difflib.get_close_matches(wanted, by_key, _MAX_NAMED):
            found += [model_id for model_id in by_key[key] if model_id not in found]
    return found[:_MAX_NAMED]


def hint(name: str, ids: Iterable[str]) -> str:
    """The end of a sentence that says a name is not here; empty where nothing is near it."""
    near = nearest(name, ids)
    return f"; did you mean {' or '.join(repr(model_id) for model_id in near)}?" if near else ""
