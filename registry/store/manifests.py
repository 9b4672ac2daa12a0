"""Manifests: the files of a model folder, with sizes and hashes, as they were when published."""

import hashlib
import os
from pathlib import Path

from registry.checkpoint.tokenizer.vocabulary import is_vocabulary
from registry.errors import BrokenWeights
from registry.threads import Step

from . import durable
from .record import Manifest, Stored, is_weight

_BLOCK_BYTES = 1 << 20


def take(folder: Path, step: Step) -> Manifest:
    """Size and hash of every file of a folder; `step` is told of the bytes that were read."""
    return {
        path.relative_to(folder).as_posix(): Stored(path.stat().st_size, sha256(path, step))
        for path in _files(folder)
    }


def sizes(folder: Path) -> Manifest:
    """Sizes, without hashes, of the files that the model needs: a linked folder's manifest."""
    return {
        path.name: Stored(path.stat().st_size)
        for path in sorted(folder.iterdir())
        if _matters(path.name) and path.is_file()
    }


def num_bytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in _files(folder))


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files of a folder."""
    return sum(stored.size for name, stored in sizes(folder).items() if is_weight(name))


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether the files that the model needs are there, in the sizes that were published."""
    try:
        return bool(manifest) and all(
            os.stat(f"{folder}/{name}").st_size == stored.size
            for name, stored in manifest.items()
            if _matters(name)
        )
    except OSError:
        return False


def check(folder: Path, manifest: Manifest, step: Step) -> None:
    """Raises BrokenWeights for the first file that is not what it was when it was published."""
    for name, stored in manifest.items():
        if stored.sha256 is None:
            continue  # in a linked folder, which its owner may change
        path = folder / name
        if not path.is_file():
            raise BrokenWeights(name, "it is gone")
        if (size := path.stat().st_size) != stored.size:
            raise BrokenWeights(
                name, f"it has {size} bytes, and had {stored.size} when it was published"
            )
        if sha256(path, step) != stored.sha256:
            raise BrokenWeights(name, "its content changed since it was published")


def sha256(path: Path, step: Step) -> str:
    """The hash of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            step(len(block))
    return digest.hexdigest()


def copy(source: Path, target: Path, step: Step) -> str:
    """Copy a file's content, for the user alone, and return its hash."""
    digest = hashlib.sha256()
    durable.make_folder(target.parent)
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(_BLOCK_BYTES):
            written.write(block)
            digest.update(block)
            step(len(block))
    return digest.hexdigest()


def seal(folder: Path) -> None:
    """Make all of a folder readable by the user alone, and wait until it is on the disk."""
    for path in _files(folder):
        path.chmod(0o600)
        durable.sync(path)
    for path in (*folder.rglob("*/"), folder):
        if path.is_dir():
            path.chmod(0o700)
            durable.sync(path)


def _matters(name: str) -> bool:
    """Whether the model cannot be served without this file."""
    return is_weight(name) or name == "config.json" or is_vocabulary(name)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
