"""Whether other users of this machine may read what is private, or change what is served."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from .finding import Finding

_PRIVATE = ("api-key", "prefixes.key", "responses.sqlite3*")
_CONFIG = "config.toml"  # which may have a key in it
_KEY_IN_CONFIG = re.compile(r"^\s*api[-_]key\s*=", re.MULTILINE)
_WRITE, _ANY = stat.S_IWGRP | stat.S_IWOTH, stat.S_IRWXG | stat.S_IRWXO


def findings(home: Path) -> Iterator[Finding]:
    """One for what is right, or one for each thing that is not."""
    wrong = [*_wrong(home)] if home.is_dir() else []
    yield from wrong
    if not wrong:
        yield Finding("permissions", "ok", "what is private is readable for you alone")


def _wrong(home: Path) -> Iterator[Finding]:
    status = home.stat()
    if status.st_uid != os.geteuid():
        yield Finding(
            "permissions",
            "warning",
            f"{home} belongs to another user (id {status.st_uid})",
            f"If it should be yours: `sudo chown -R $(id -un) {quote(str(home))}`",
        )
    if mode := stat.S_IMODE(status.st_mode) & _ANY:
        may = "change the models that you use" if mode & _WRITE else "see which models you have"
        yield Finding(
            "permissions",
            "problem" if mode & _WRITE else "warning",
            f"other users may {may}: {home} has the mode {stat.S_IMODE(status.st_mode):o}",
            f"`chmod 700 {quote(str(home))}`",
        )
    for path in _secrets(home):
        if _is_open(path):
            yield Finding(
                "permissions",
                "problem",
                f"other users may read {path}, which holds {_content(path)}",
                f"`chmod 600 {quote(str(path))}`",
            )


def _secrets(home: Path) -> Iterator[Path]:
    for pattern in _PRIVATE:
        yield from sorted(home.glob(pattern))
    config = home / _CONFIG
    if config.is_file() and _KEY_IN_CONFIG.search(config.read_text(errors="replace")):
        yield config


def _is_open(path: Path) -> bool:
    """To others. Not what is gone by now: SQLite takes a -wal away with its last connection."""
    try:
        return bool(path.stat().st_mode & _ANY)
    except FileNotFoundError:
        return False


def _content(path: Path) -> str:
    return "conversations" if path.name.startswith("responses") else "a key"
