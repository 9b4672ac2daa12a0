"""Folders of a Mac's user that a program may read only when the user has allowed it.

Where nobody can be asked, as for a launchd agent, macOS just refuses: "Operation not permitted"
(Apple Platform Security, "Controlling app access to files in macOS").
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

_NAMES = ("Desktop", "Documents", "Downloads")


def cautions(paths: Iterable[Path]) -> Iterator[str]:
    """A sentence for each path that lies in one of them."""
    folders = [Path.home() / name for name in _NAMES]
    for path in dict.fromkeys(path.absolute() for path in paths):
        for folder in folders:
            if path.is_relative_to(folder):
                yield (
                    f"{path} lies in {folder}, which macOS may keep a service from reading: move "
                    "it, or allow it in System Settings, Privacy & Security, Full Disk Access."
                )
