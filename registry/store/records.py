"""Reads the model.json of every model, each again only when it has changed."""

import logging
import os
from pathlib import Path

import msgspec

from .model_id import is_id
from .record import Record

logger = logging.getLogger(__name__)


class Records:
    """Safe for several threads at once. A record that cannot be read counts as missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int, int], Record | None]] = {}

    def ids(self) -> list[str]:
        """The names in the folder that could be ids; a model of that id may still be missing."""
        try:
            names = [name for name in os.listdir(self._folder) if is_id(name)]
        except FileNotFoundError:
            names = []
        for gone in self._known.keys() - set(names):
            self._known.pop(gone, None)
        return names

    def get(self, model_id: str) -> Record | None:
        """The record of a valid id; None if it is missing or, which is logged, cannot be read."""
        path = f"{self._folder}/{model_id}/model.json"
        try:
            status = os.stat(path)
            key = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._known.get(model_id)
            if known is None or known[0] != key:
                known = self._known[model_id] = (key, _decode(Path(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return known[1]


def _decode(path: Path) -> Record | None:
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        raise
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        logger.warning("%s cannot be read, so its model is left out: %s", path, error)
        return None
    # Where a disk ignores case, asking for "Tiny" finds the record of "tiny".
    return record if record.id == path.parent.name else None
