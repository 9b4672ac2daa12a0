"""Durations as people write them: seconds, or a number with s, m or h; -1 is for ever."""

import math
import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Raises ValueError that says what is wanted."""
    if text.strip() in ("-1", "inf"):
        return math.inf
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration; write 90, 90s, 30m, 2h, or -1 for ever")
    return float(match[1]) * _UNIT_S[match[2]]
