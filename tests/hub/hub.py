"""What a hub holds, repositories and files; what it is to do wrong, and what it was asked."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from urllib.parse import quote

from tests.hub.hub_faults import Fault

Content = bytes | Path
LFS_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".onnx")


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    at: str  # "hub" or "cdn"
    method: str
    path: str  # decoded, without the query
    query: str
    headers: dict[str, str]  # names in lower case


@dataclass
class Planned:
    """A fault that waits for its requests."""

    suffix: str
    fault: Fault
    times: int | None
    on: str | None


@dataclass(frozen=True)
class Repo:
    """A repository at one commit."""

    files: dict[str, Content]
    commit: str
    licence: str | None
    gated: bool
    lfs: frozenset[str]
    has_sizes: bool = True  # in the list of files


class Hub:
    """What `HubServer` serves and `Handler` answers from. Any thread may call its methods."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.token = "hf_sesame"
        self.url = self.cdn_url = ""  # known once it is served
        self.hosts = ("127.0.0.1", "localhost")
        self.sent: list[tuple[str, int]] = []
        self._planned: list[Planned] = []
        self.repos: dict[str, dict[str, Repo]] = {}
        self.files: dict[str, Content] = {}

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, Content],
        *,
        licence: str | None = None,
        gated: bool = False,
        lfs: tuple[str, ...] = (),
        sizes: bool = True,
    ) -> str:
        """Add a commit to a repository, whatever its files are called; returns the commit."""
        revisions = self.repos.setdefault(repo_id, {})
        commit = hashlib.sha1(f"{repo_id}{len(revisions)}".encode()).hexdigest()
        named = frozenset(name for name in files if name.endswith(LFS_SUFFIXES) or name in lfs)
        repo = Repo(dict(files), commit, licence, gated, named, sizes)
        revisions[commit] = revisions["main"] = repo
        return commit

    def add_folder(self, repo_id: str, folder: Path, *, licence: str | None = None) -> str:
        """A repository of all files of a folder."""
        paths = (path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path for path in paths}
        return self.add_repo(repo_id, files, licence=licence)

    def add_file(self, name: str, content: Content) -> str:
        """A file without a repository; returns its URL."""
        self.files[f"/files/{name}"] = content
        return f"{self.url}/files/{quote(name)}"

    def misbehave(
        self, suffix: str, fault: Fault, times: int | None = None, on: str | None = None
    ) -> None:
        """Plan a fault for paths that end with `suffix`; on "hub" or "cdn" only, if given."""
        self._planned.append(Planned(suffix, fault, times, on))

    def behave(self) -> None:
        """Forget all planned faults."""
        self._planned.clear()

    def bytes_sent(self, suffix: str) -> int:
        """Body bytes handed to the socket for paths that end so."""
        return sum(size for path, size in list(self.sent) if path.endswith(suffix))

    def wait_for(self, suffix: str, num_bytes: int = 1, timeout_s: float = 10) -> None:
        """Block until so many body bytes were sent for a path that ends so."""
        deadline = time.monotonic() + timeout_s
        while self.bytes_sent(suffix) < num_bytes:
            if time.monotonic() > deadline:
                raise AssertionError(f"no request for {suffix}: {self.requests}")
            time.sleep(0.005)

    def take(self, path: str, at: str, kinds: UnionType | tuple[type, ...]) -> Fault | None:
        """The next fault of these kinds that is planned for a path."""
        for planned in self._planned:
            if (
                isinstance(planned.fault, kinds)
                and path.endswith(planned.suffix)
                and planned.on in (None, at)
                and planned.times != 0
            ):
                if planned.times is not None:
                    planned.times -= 1
                return planned.fault
        return None


def size_of(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def read(content: Content, start: int, size: int) -> bytes:
    if isinstance(content, bytes):
        return content[start : start + size]
    with content.open("rb") as file:
        file.seek(start)
        return file.read(size)


_hashes: dict[tuple[str, int, int], str] = {}


def sha256_of(content: Content) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    stat = content.stat()
    key = (str(content), stat.st_mtime_ns, stat.st_size)
    if key not in _hashes:
        with content.open("rb") as file:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]
