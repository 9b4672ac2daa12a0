"""The files of a model on their way into HOME/partial/ID: from the hub, a URL, a client, a folder.

Called by `provision`. What has arrived stays there until it is published, so that the next try of
the same order goes on from it; what another order left is removed.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, unquote, urljoin, urlsplit

from registry.checkpoint import companions, modules, shards
from registry.download.fetch import fetch
from registry.download.remote import DownloadSettings, Remote
from registry.errors import DownloadFailed, SourceMissing, SourceRefused
from registry.hub import repository
from registry.hub.repository import HubSettings
from registry.store import manifests
from registry.store.ownership import Ownership
from registry.store.record import Recipe, Source, is_weight
from registry.threads import Step, in_thread

from .order import Download, Import, Pull, Upload
from .recipe import check_recipe

OnStage: TypeAlias = Callable[[str, int, int | None], None]  # stage, bytes done, bytes in all
Receive: TypeAlias = Callable[[Path, OnStage], Awaitable[None]]  # fills an empty folder

_SUFFIXES = {".gguf", ".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ ()-]{0,199}")
_OPTIONAL = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


@dataclass(frozen=True, slots=True)
class ProvisionSettings:
    """Settings of downloads and of the hub."""

    download: DownloadSettings = field(default_factory=DownloadSettings)
    hub: HubSettings = field(default_factory=HubSettings)


@dataclass(frozen=True, slots=True)
class Acquired:
    """The files of a model, all here, not yet checked."""

    path: Path  # a model folder, or a .gguf file
    source: Source
    licence: str | None = None
    is_own: bool = True  # the registry's own files: a hard link to them is as good as a copy


async def pull(
    order: Pull, owned: Ownership, settings: ProvisionSettings, report: OnStage
) -> Acquired:
    """A repository's files at one commit: a branch may move on meanwhile."""
    report("resolving", 0, None)
    revision = await repository.resolve(order.repo, order.revision, settings.hub, order.file)
    folder = _folder(owned, "hub", revision.repo_id, revision.commit, order.file or "")
    files = [
        (repository.remote(revision, file, settings.hub), file.name) for file in revision.files
    ]
    sha256 = await _fetch_all(files, folder, settings, report, order.recipe)
    source = Source("hub", revision.repo_id, revision.commit, sha256)
    return Acquired(_model_in(folder), source, revision.licence)


async def download(
    order: Download, owned: Ownership, settings: ProvisionSettings, report: OnStage
) -> Acquired:
    """One .gguf; or the files of a model folder, whose names are always the same."""
    report("resolving", 0, None)
    path = urlsplit(order.url).path
    name = _plain(unquote(path.rsplit("/", 1)[-1])) if not path.endswith("/") else ""
    folder = _folder(owned, "url", order.url)
    if name.endswith(".gguf"):
        files = [(Remote(order.url), name)]
        sha256 = await _fetch_all(files, folder, settings, report, order.recipe)
    elif name == "" or name.endswith(".safetensors"):
        sha256 = await _fetch_folder(order, name, folder, settings, report)
    else:
        raise SourceRefused(
            f"{order.url} names no model: a .gguf, a .safetensors or a folder (with a slash at "
            "its end) can be downloaded."
        )
    # Without the query, which may hold a secret signature.
    return Acquired(_model_in(folder), Source("url", order.url.split("?")[0], None, sha256))


async def receive_upload(
    order: Upload, owned: Ownership, receive: Receive | None, report: OnStage
) -> Acquired:
    """What a client sends. Only when all of it is here can the job go on after a restart."""
    folder = _folder(owned, "upload", order.file)
    if receive is not None:
        owned.discard()
        arriving = owned.folder / "arriving"
        arriving.mkdir(mode=0o700)
        report("uploading", 0, None)
        try:
            await receive(arriving, report)
        except BaseException:
            owned.discard()  # nobody can send the rest of it
            raise
        arriving.rename(folder)
    elif not folder.exists():
        raise SourceRefused(
            f"The server was restarted while '{order.file}' was being uploaded. Upload it again."
        )
    sha256 = await _hashes(folder, _copied(folder), report)
    return Acquired(_model_in(folder), Source("upload", order.file, None, sha256))


async def import_path(
    order: Import, owned: Ownership, settings: ProvisionSettings, report: OnStage
) -> Acquired:
    """A copy of a local folder; what has to be converted is read where it is."""
    path = Path(order.path)
    owned.discard()  # not gone on with: the source may have changed
    if path.is_file() or order.recipe.converts:
        folder, names = (path.parent, [path.name]) if path.is_file() else (path, _copied(path))
        source = Source("folder", str(path), None, await _hashes(folder, names, report))
        return Acquired(path, source, is_own=False)
    folder = _folder(owned, "folder", order.path)
    folder.mkdir(mode=0o700)
    names = _copied(path)
    num_bytes = sum((path / name).stat().st_size for name in names)
    require_space(owned.folder, num_bytes, settings)

    def copy(step: Step) -> dict[str, str]:
        return {name: manifests.copy(path / name, folder / name, step) for name in names}

    try:
        sha256 = await in_thread(copy, Counter(report, "copying", num_bytes).add)
    except BaseException:
        owned.discard()  # half a copy is of no use
        raise
    return Acquired(folder, Source("folder", str(path), None, sha256))


async def _hashes(folder: Path, names: Sequence[str], report: OnStage) -> dict[str, str]:
    """The hashes of files that came without, for the record."""
    counter = Counter(report, "hashing", sum((folder / name).stat().st_size for name in names))

    def all_of_them(step: Step) -> dict[str, str]:
        return {name: manifests.sha256(folder / name, step) for name in names}

    return await in_thread(all_of_them, counter.add)


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


def _folder(owned: Ownership, kind: str, *source: str) -> Path:
    """The folder for the files of this source; those of any other source are removed."""
    key = hashlib.sha256("\n".join(source).encode()).hexdigest()[:16]
    owned.discard(keep=f"{kind}-{key}")
    return owned.folder / f"{kind}-{key}"


def _model_in(folder: Path) -> Path:
    """What to convert: the folder, or the one .gguf in it."""
    names = [path for path in folder.iterdir() if path.suffix in (".gguf", ".safetensors")]
    return names[0] if len(names) == 1 and names[0].suffix == ".gguf" else folder


async def _fetch_all(
    files: Sequence[tuple[Remote, str]],
    folder: Path,
    settings: ProvisionSettings,
    report: OnStage,
    recipe: Recipe,
) -> dict[str, str]:
    """Fetch all files, one after the other and weights last. Returns their hashes."""
    sizes = [remote.size for remote, _ in files]
    total = sum(size or 0 for size in sizes) if None not in sizes else None
    folder.mkdir(mode=0o700, exist_ok=True)
    here = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    require_space(folder, (total or 0) - here, settings)
    sha256: dict[str, str] = {}
    before = 0
    for remote, name in sorted(files, key=lambda file: is_weight(file[1])):

        def told(stage: str, done: int, size: int | None, before: int = before) -> None:
            whole = before + size if total is None and size is not None else total
            report(stage, before + done, whole)

        if is_weight(name):  # refuse what can be refused before gigabytes come
            check_recipe(folder, recipe)
        target = folder / name
        sha256[name] = await _fetch(remote, target, settings, told)
        before += target.stat().st_size
    return sha256


async def _fetch(remote: Remote, target: Path, settings: ProvisionSettings, report: OnStage) -> str:
    """Fetch a file unless an earlier try did. Returns its hash.

    A file that is here counts only if it has the hash that the source names. Without one it is
    fetched again: the source may have changed, and two versions must not be mixed.
    """
    if target.exists():
        counter = Counter(report, "downloading", target.stat().st_size)
        if remote.sha256 is not None:
            found = await in_thread(lambda step: manifests.sha256(target, step), counter.add)
            if found == remote.sha256:
                return found
        target.unlink()
    fetched = await fetch(
        remote, target, lambda done, size: report("downloading", done, size), settings.download
    )
    return fetched.sha256


async def _fetch_folder(
    order: Download, name: str, folder: Path, settings: ProvisionSettings, report: OnStage
) -> dict[str, str]:
    """A safetensors model beside a URL: its configuration and tokenizer, then its shards."""
    url = order.url

    async def fetch_named(*names: str) -> dict[str, str]:
        files = [(Remote(urljoin(url, quote(name))), name) for name in names]
        return await _fetch_all(files, folder, settings, report, order.recipe)

    async def fetch_optional(*names: str) -> dict[str, str]:
        fetched: dict[str, str] = {}
        for name in names:
            with contextlib.suppress(SourceMissing):
                fetched |= await fetch_named(name)
        return fetched

    sha256 = await fetch_named("config.json")
    sha256 |= await fetch_optional(*_OPTIONAL, shards.INDEX, companions.MODULES)
    if companions.MODULES in sha256:  # an embedder, which has more such files
        sha256 |= await fetch_optional(*companions.EMBEDDER_FILES[1:])
        more = [name for name in modules.files_to_fetch(folder) if name not in sha256]
        sha256 |= await fetch_optional(*more)
    weight_map = shards.read_index(folder)
    if weight_map is not None and (name == "" or name in weight_map.values()):
        return sha256 | await fetch_named(*sorted(set(weight_map.values())))
    weights = (Remote(url if name else urljoin(url, "model.safetensors")), "model.safetensors")
    return sha256 | await _fetch_all([weights], folder, settings, report, order.recipe)


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise SourceRefused(f"{name!r} cannot be a model's file: a plain name is wanted.")
    return name


def _copied(folder: Path) -> list[str]:
    """The names of files to copy. A hub cache's links are followed; a pipe or device is no file."""
    names = [name for name in os.listdir(folder) if Path(name).suffix in _SUFFIXES]
    kept = [n for n in names if is_weight(n) or not n.endswith(".safetensors")]
    return sorted(n for n in [*kept, *companions.module_files(folder)] if (folder / n).is_file())


def require_space(folder: Path, num_bytes: int, settings: ProvisionSettings) -> None:
    """Raises DownloadFailed when the disk has no room for so much more."""
    free, reserve = shutil.disk_usage(folder).free, settings.download.reserve_bytes
    if num_bytes > 0 and num_bytes + reserve > free:
        raise DownloadFailed(
            f"The files take {num_bytes / 1e6:.1f} MB, and the disk has {free / 1e6:.1f} MB left; "
            f"{reserve / 1e6:.0f} MB of it stay free. Remove a model first."
        )
