"""The home on its disk: room, who else may look, whether something copies it elsewhere."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TypeAlias

import psutil

from runtime.memory import darwin
from scripts.size import in_words

from .finding import Finding

_SMALL_BYTES = 10 << 30  # a model of 8 billion parameters, and its files on the way
_FULL_BYTES = 1 << 30
_STALE_S = 24 * 3600.0  # a download that nobody went on with for so long
# Folders that a service copies to its servers, by their names in a path. iCloud Drive is "Mobile
# Documents"; what File Provider extensions sync (Dropbox, Google Drive, OneDrive) is in
# "CloudStorage": developer.apple.com/documentation/fileprovider.
_SYNCED = ("Mobile Documents", "CloudStorage", "Dropbox", "OneDrive", "Google Drive", "iCloudDrive")
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "fuse.sshfs", "ceph")

Mounts: TypeAlias = list[tuple[str, str]]  # mount points and types of file systems


def findings(home: Path) -> Iterator[Finding]:
    """All of them. Nothing is made: a home that is not there yet is judged by where it will be."""
    there = home if home.exists() else next(up for up in home.absolute().parents if up.exists())
    yield writable(home, there)
    yield space(home, shutil.disk_usage(there).free)
    yield shared(home.resolve(), _mounts())
    yield from stale_downloads(home)


def writable(home: Path, there: Path) -> Finding:
    """Whether the home can be written; `there` is what exists of its path."""
    remedy = "Choose another with --home or MLX_EDGE_HOME, or make it yours: "
    remedy += f"`chmod u+rwx {quote(str(there))}`"
    if not there.is_dir():
        return Finding("home", "problem", f"{home}: {there} is a file, and no folder", remedy)
    if not there.stat().st_mode & stat.S_IWUSR:  # which root would not notice
        return Finding("home", "problem", f"{there} may not be written, even by its owner", remedy)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding("home", "problem", f"{there} cannot be written: {error.strerror}", remedy)
    made = "" if there == home else " (made when it is first needed)"
    return Finding("home", "ok", f"{home}{made}")


def space(home: Path, free: int) -> Finding:
    """Whether models find room on the disk of the home."""
    told = f"{in_words(free)} are free on the disk of the home"
    remedy = "Remove models (`mlx-edge list`, `mlx-edge rm ID`), or choose another disk with --home"
    if free < _FULL_BYTES:
        return Finding("disk space", "problem", f"{told}: no model can be pulled", f"{remedy}.")
    if free < _SMALL_BYTES:
        return Finding("disk space", "warning", f"{told}, too little for larger models", remedy)
    return Finding("disk space", "ok", told)


def shared(home: Path, mounts: Mounts) -> Finding:
    """Whether the home leaves this machine: copied by a service, or on another's disk."""
    if (service := synced_by(home)) is not None:
        return Finding(
            "place",
            "problem",
            f"{home} is in a folder that is copied elsewhere ({service}): conversations and "
            "gigabytes of models leave this machine, and the database may be damaged",
            "Stop the server, move the folder and start with --home, e.g. "
            f"`mv {quote(str(home))} ~/mlx-edge`",
        )
    mounted = [(point, kind) for point, kind in mounts if home.is_relative_to(point)]
    point, kind = max(mounted, key=lambda mount: len(mount[0]), default=("/", ""))
    if kind in _NETWORK:
        return Finding(
            "place",
            "warning",
            f"{home} is on a network disk ({kind} at {point}): locks may not hold between "
            "servers, and models load as fast as the network",
            "Choose a folder on a disk of this machine with --home or MLX_EDGE_HOME",
        )
    return Finding("place", "ok", "on a disk of this machine, in no folder that is synced")


def synced_by(home: Path) -> str | None:
    """What copies this folder; None if nothing is known to.

    macOS syncs Desktop and Documents too, if the user wants it: then iCloud Drive has folders of
    these names.
    """
    for part in home.parts:
        if found := next((name for name in _SYNCED if part.startswith(name)), None):
            return "iCloud Drive" if found == "Mobile Documents" else part
    icloud = Path.home() / "Library" / "Mobile Documents" / "com~apple~CloudDocs"
    if darwin.is_here():
        for name in ("Desktop", "Documents"):
            if home.is_relative_to(Path.home() / name) and (icloud / name).exists():
                return f"iCloud Drive, with all of {name}"
    return None


def stale_downloads(home: Path) -> Iterator[Finding]:
    """What was begun and nobody went on with."""
    partial = home / "partial"
    for folder in sorted(partial.iterdir()) if partial.is_dir() else ():
        stats = [*_stats(folder)]
        size = sum(told.st_size for told in stats if stat.S_ISREG(told.st_mode))
        age_s = time.time() - max((told.st_mtime for told in stats), default=0.0)
        if size and age_s > _STALE_S:
            yield Finding(
                "downloads",
                "note",
                f"{in_words(size)} of {folder.name} were fetched {age_s / 86400:.0f} days ago, "
                "and the rest never",
                f"Pull it again to go on from there, or `mlx-edge rm {folder.name}`.",
            )


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Of it and all in it, but for what a pull that goes on takes away meanwhile."""
    for here, _, names in os.walk(folder):
        for path in (here, *(os.path.join(here, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                yield os.lstat(path)


def _mounts() -> Mounts:
    return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
