"""The rule for a model's id: it becomes a folder's name, and must not lead anywhere else."""

import re

from registry.errors import InvalidModelId

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


def is_id(model_id: str) -> bool:
    """Whether a model could have this id."""
    return _ID.fullmatch(model_id) is not None and ".." not in model_id


def check_id(model_id: str) -> None:
    """Raises InvalidModelId, whose message states the rule."""
    if not is_id(model_id):
        shown = repr(model_id if len(model_id) <= 80 else model_id[:80] + "…")
        raise InvalidModelId(
            f"{shown} cannot be a model's id: use letters, digits, '.', '_' and '-', "
            "starting with a letter, a digit or '_', at most 255 characters, and no '..'."
        )
