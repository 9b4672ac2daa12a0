"""Names of files that are no text: Linux allows any bytes, records and messages do not."""

import os
from pathlib import Path


def is_text(path: Path | str) -> bool:
    """Whether a path can be written down: all of it is UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: Path | str) -> str:
    """A path as a message can have it, with bytes that are no text as `\\xe9`."""
    return os.fsencode(path).decode(errors="backslashreplace")
