"""A definition on the disk, where its service manager finds it."""

from pathlib import Path

from registry.store import durable


def write(path: Path, content: bytes) -> None:
    """Put it there whole. Others may read it, for there is no secret in it; launchd refuses a file
    that they may write. Raises OSError.
    """
    durable.make_folder(path.parent)
    durable.replace(path, content)
    path.chmod(0o644)
