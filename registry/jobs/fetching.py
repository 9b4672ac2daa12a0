"""The files of one source on their way into a folder: one after the other, counted together.

Used by `acquire`. Small files come first, then what they tell is checked, then the weights come.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from registry.download.fetch import fetch
from registry.download.peek import read_range, size_of
from registry.download.remote import DownloadSettings, Remote
from registry.errors import DownloadFailed, SourceMissing, SourceRefused
from registry.store import manifests
from registry.threads import in_thread

OnStage: TypeAlias = Callable[[str, int, int | None], None]  # stage, bytes done, bytes in all


class Counter:
    """Adds up the bytes of a stage, and reports them."""

    def __init__(self, report: OnStage, stage: str, total: int | None) -> None:
        self._report, self._stage, self._total = report, stage, total
        self.done = 0
        report(stage, 0, total)

    def add(self, num_bytes: int) -> None:
        """Report so many bytes more."""
        self.done += num_bytes
        self._report(self._stage, self.done, self._total)


class Fetching:
    """A folder that is being filled. `sha256` has the hash of each file that is here."""

    def __init__(self, folder: Path, settings: DownloadSettings, report: OnStage) -> None:
        self.folder = folder
        self.sha256: dict[str, str] = {}
        self.total: int | None = None  # bytes of all files, once it is known
        self._settings = settings
        self._report = report
        self._num_bytes = 0  # of the files that are here
        folder.mkdir(mode=0o700, exist_ok=True)

    async def add(self, files: Mapping[str, Remote]) -> None:
        """Fetch these files, by their names here. Raises DownloadFailed, SourceRefused."""
        sizes = [remote.size for remote in files.values()]
        expected = sum(size for size in sizes if size is not None)
        if None not in sizes:
            self.total = max(self.total or 0, self._num_bytes + expected)
        here = [self.folder / name for name in files]
        here += [path.with_name(f"{path.name}.part") for path in here]
        arrived = sum(path.stat().st_size for path in here if path.is_file())
        require_space(self.folder, expected - arrived, self._settings)
        for name, remote in files.items():
            self.sha256[name] = await self._fetch(remote, self.folder / name)
            self._num_bytes += (self.folder / name).stat().st_size

    def remove(self, name: str) -> None:
        """Take a file out again that the model does not need after all."""
        (self.folder / name).unlink(missing_ok=True)
        self.sha256.pop(name, None)

    async def _fetch(self, remote: Remote, target: Path) -> str:
        """Fetch a file unless an earlier try did. Returns its hash.

        A file that is here counts only if it has the hash that the source names. Without one it is
        fetched again: the source may have changed, and two versions must not be mixed.
        """
        if target.exists():
            if remote.sha256 is not None:
                hashed = 0

                def told(num_bytes: int) -> None:
                    nonlocal hashed
                    hashed += num_bytes
                    self._tell(hashed, remote.size)

                found = await in_thread(lambda step: manifests.sha256(target, step), told)
                if found == remote.sha256:
                    return found
            target.unlink()
        return (await fetch(remote, target, self._tell, self._settings)).sha256

    def _tell(self, done: int, size: int | None) -> None:
        total = self._num_bytes + size if self.total is None and size is not None else self.total
        self._report("downloading", self._num_bytes + done, total)


async def sized(remote: Remote, settings: DownloadSettings) -> Remote:
    """A file with its size, which the server is asked for where the list does not say it."""
    if remote.size is not None:
        return remote
    try:
        return replace(remote, size=await size_of(remote, settings))
    except SourceRefused:  # some sign their URLs for GET alone; the download tells the reason
        return remote


async def if_there(remote: Remote, settings: DownloadSettings) -> Remote | None:
    """The file with its size as far as it is told, or None if there is no such file."""
    try:
        found = replace(remote, size=await size_of(remote, settings))
    except SourceMissing:
        return None
    except SourceRefused:
        found = remote
    if found.size is None:
        try:
            await read_range(remote, 0, 8, settings)
        except SourceMissing:
            return None
    return found


def require_space(folder: Path, num_bytes: int, settings: DownloadSettings) -> None:
    """Raises DownloadFailed when the disk has no room for so much more."""
    free, reserve = shutil.disk_usage(folder).free, settings.reserve_bytes
    if num_bytes > 0 and num_bytes + reserve > free:
        raise DownloadFailed(
            f"The files take {num_bytes / 1e6:.1f} MB, and the disk has {free / 1e6:.1f} MB left; "
            f"{reserve / 1e6:.0f} MB of it stay free. Remove a model first."
        )
