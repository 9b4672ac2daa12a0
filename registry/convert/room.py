"""Whether the disk has room for a conversion's outcome, asked before anything of it is written."""

import shutil
from pathlib import Path

from registry.errors import ConversionFailed

_RESERVE_BYTES = 256 << 20  # of the disk that stay free


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raises ConversionFailed if so much does not fit on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if needed_bytes + _RESERVE_BYTES > free:
        raise ConversionFailed(
            f"The disk has {free >> 20} MiB left, and {needed_bytes >> 20} MiB and a reserve of "
            f"{_RESERVE_BYTES >> 20} MiB are needed. Make room, then try again."
        )
