"""The folder of models: what is registered, and where its files are.

HOME/models/ID/ holds a model's files and model.json, which describes it; a linked model has only
the latter. Changes are made beside it and renamed into place, so a crash leaves nothing half.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .errors import InvalidModelId, ModelExists, ModelNotFound, NotAModel

logger = logging.getLogger(__name__)

BUILT_IN = Path(__file__).parent / "pocket"
BUILT_IN_ID = "pocket"

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_SUFFIXES = {".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken"}
_EMBEDDING_TYPES = {"bert", "xlm-roberta", "roberta", "mpnet", "nomic_bert", "modernbert"}


class Metadata(msgspec.Struct, omit_defaults=True):
    """model.json."""

    id: str
    kind: str
    created_at: float  # unix seconds
    version: str = "1.0.0"
    linked: str | None = None  # the folder elsewhere that holds the files


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered model."""

    id: str
    kind: str  # "llm" or "embed"
    folder: Path
    created_at: float  # unix seconds
    is_ready: bool  # its files are there
    size_bytes: int
    is_built_in: bool = False


class Store:
    """Safe for several processes at once: writers hold a lock, readers see whole entries only."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._models = home / "models"

    def entries(self) -> list[Entry]:
        """All models by id, the built-in one among them."""
        found = {entry.id: entry for entry in self._built_in()}
        if self._models.is_dir():
            for folder in self._models.iterdir():
                if _ID.fullmatch(folder.name) and (entry := self._read(folder)):
                    found[entry.id] = entry
        return [found[name] for name in sorted(found)]

    def get(self, model_id: str) -> Entry:
        """Raises ModelNotFound, also for an id that could not exist."""
        if _ID.fullmatch(model_id) and ".." not in model_id:
            if entry := self._read(self._models / model_id):
                return entry
            for entry in self._built_in():
                if entry.id == model_id:
                    return entry
        raise ModelNotFound(model_id)

    def import_folder(self, source: Path, model_id: str, *, link: bool) -> Entry:
        """Register a local MLX folder under an id, by copying its files or by linking to it.

        Raises InvalidModelId, ModelExists, NotAModel.
        """
        _check_id(model_id)
        source = source.expanduser().resolve()
        kind = _check_model(source)
        metadata = Metadata(model_id, kind, time.time(), linked=str(source) if link else None)
        with self._locked():
            target = self._models / model_id
            if target.exists():
                raise ModelExists(
                    f"A model '{model_id}' exists already. Remove it with "
                    f"`mlx-edge rm {model_id}`, or choose another id."
                )
            with self._staging() as staging:
                if not link:
                    _copy(source, staging)
                _write(staging / "model.json", msgspec.json.encode(metadata))
                os.rename(staging, target)
                _sync(self._models)
        return self.get(model_id)

    def remove(self, model_id: str) -> None:
        """Forget a model and delete its files; a linked folder stays. Raises ModelNotFound."""
        if self.get(model_id).is_built_in:
            raise InvalidModelId(f"'{model_id}' is part of mlx-edge and cannot be removed.")
        with self._locked(), self._staging() as staging:
            # Out of sight first: deleting gigabytes takes a while, and may be interrupted.
            os.rename(self._models / model_id, staging / "removed")

    def _built_in(self) -> Iterator[Entry]:
        weights = BUILT_IN / "model.safetensors"
        if weights.exists():
            created_at = weights.stat().st_mtime
            yield Entry(BUILT_IN_ID, "llm", BUILT_IN, created_at, True, _size(BUILT_IN), True)

    def _read(self, folder: Path) -> Entry | None:
        """The entry in a folder of the store; None, with a warning, if it cannot be read."""
        path = folder / "model.json"
        try:
            metadata = msgspec.json.decode(path.read_bytes(), type=Metadata)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            logger.warning("%s cannot be read, so its model is left out: %s", path, error)
            return None
        files = Path(metadata.linked) if metadata.linked else folder
        return Entry(
            folder.name,
            metadata.kind,
            files,
            metadata.created_at,
            is_ready=_is_ready(files),
            size_bytes=_size(files),
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; the kernel frees the lock when its process ends."""
        _make_folder(self._home)
        _make_folder(self._models)
        descriptor = os.open(self._home / "store.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in self._models.glob(".staging-*"):  # of a writer that was killed
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _staging(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix=".staging-", dir=self._models))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check_id(model_id: str) -> None:
    if not _ID.fullmatch(model_id) or ".." in model_id:
        raise InvalidModelId(
            f"{model_id!r} cannot be a model's id: use letters, digits, '.', '_' and '-', "
            "starting with a letter, a digit or '_', at most 255 characters."
        )


def _check_model(folder: Path) -> str:
    """The kind of the model in a folder. Raises NotAModel when it cannot be served."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        model_type = config["model_type"]
    except FileNotFoundError:
        raise NotAModel(f"{folder} has no config.json, so it is no model folder.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAModel(f"{folder}/config.json cannot be used: {error!r}") from error
    if not isinstance(model_type, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", model_type):
        raise NotAModel(f"{folder}/config.json has no usable model_type: {model_type!r}")
    for key in ("model_file", "auto_map"):
        if key in config:
            raise NotAModel(
                f"{folder}/config.json has '{key}': the model needs code of its own, "
                "which mlx-edge never runs."
            )
    if not (folder / "tokenizer.json").exists() and not (folder / "tokenizer.model").exists():
        raise NotAModel(f"{folder} has neither tokenizer.json nor tokenizer.model.")
    if not any(folder.glob("*.safetensors")):
        raise NotAModel(f"{folder} has no *.safetensors weights.")
    return "embed" if model_type in _EMBEDDING_TYPES else "llm"


def _is_ready(folder: Path) -> bool:
    return (folder / "config.json").exists() and any(folder.glob("*.safetensors"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _copy(source: Path, target: Path) -> None:
    """The model's files, by content: a hub cache's links to its blobs included, nothing else."""
    for path in source.iterdir():
        if path.suffix in _SUFFIXES and path.name != "model.json" and path.is_file():
            copied = target / path.name
            shutil.copyfile(path, copied)
            copied.chmod(0o600)
            _sync(copied)


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
