"""The folder of models: what is registered, and where its files are.

HOME/models/ID/ holds model.json and the folder of files that it names; a linked model has only the
former. Files are renamed into place first and model.json is replaced last, so a crash leaves
either the old model or the new one. HOME/partial/ID/ is where files are gathered before that.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.exactness import Probed
from registry.checkpoint.kv_bits import KvBits
from registry.checkpoint.model_memory import ModelMemory
from registry.checkpoint.verify import Verified
from registry.errors import InvalidModelId, ModelBusy, ModelExists, ModelNotFound

from . import durable, manifests
from .model_id import check_id, is_id
from .ownership import Ownership
from .record import Description, Manifest, Recipe, Record, Source
from .records import Records

BUILT_IN = Path(__file__).parents[1] / "pocket"
BUILT_IN_ID = "pocket"

_STAGING = ".staging-"
_FILES = "files-"


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered model."""

    id: str
    kind: str  # "llm", "vlm", "embed" or "onnx"
    folder: Path
    created_at: float  # unix seconds
    is_ready: bool  # it passed verification, and its files have the sizes of then
    size_bytes: int
    is_built_in: bool = False
    record: Record | None = None  # None for the built-in one


class Store:
    """Safe for several processes at once: writers hold a lock, readers see whole entries only."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._models = home / "models"
        self._partial = home / "partial"
        self._records = Records(self._models)

    def entries(self) -> list[Entry]:
        """All models by id, the built-in one among them."""
        found = {entry.id: entry for entry in _built_in()}
        for model_id in self._records.ids():
            if record := self._records.get(model_id):
                found[model_id] = self._entry(record)
        return [found[name] for name in sorted(found)]

    def get(self, model_id: str) -> Entry:
        """Raises ModelNotFound, also for an id that breaks the rule for ids."""
        if is_id(model_id):
            if record := self._records.get(model_id):
                return self._entry(record)
            for entry in _built_in():
                if entry.id == model_id:
                    return entry
        raise ModelNotFound(model_id)

    def create(self, model_id: str, description: Description) -> tuple[Entry, bool]:
        """Register an id, whose files come later, or update it; True if it is new.

        Raises InvalidModelId; ModelExists for the built-in one, or another kind.
        """
        is_new = False

        def described(record: Record | None) -> Record:
            nonlocal is_new
            is_new = record is None
            fresh = record or Record(model_id, description.kind or "llm", time.time())
            return fresh.described(description)

        return self._change(model_id, described), is_new

    def update(self, model_id: str, description: Description) -> Entry:
        """Change a record. Raises ModelNotFound, InvalidModelId; ModelExists as `create` does."""
        self.get(model_id)

        def described(record: Record | None) -> Record:
            if record is None:
                raise ModelNotFound(model_id)
            return record.described(description)

        return self._change(model_id, described)

    def publish(
        self,
        model_id: str,
        folder: Path,
        *,
        source: Source,
        recipe: Recipe,
        verified: Verified,
        licence: str | None = None,
        manifest: Manifest | None = None,
    ) -> Entry:
        """Move a verified folder into the store, in place of what the model had.

        `folder` must be on the same disk as HOME: it is renamed.
        """
        self.check_id(model_id)
        manifests.seal(folder)
        manifest = manifests.take(folder, lambda _: None) if manifest is None else manifest
        name = f"{_FILES}{secrets.token_hex(4)}"

        def published(record: Record | None) -> Record:
            return msgspec.structs.replace(
                _passed(model_id, record, verified),
                files=name,
                linked=None,
                manifest=manifest,
                source=source,
                recipe=recipe,
                kv_bits=recipe.kv_bits,
                licence=licence,
            )

        return self._change(model_id, published, moved=(folder, name))

    def publish_link(
        self,
        model_id: str,
        folder: Path,
        *,
        source: Source,
        verified: Verified,
        licence: str | None = None,
        kv_bits: KvBits | None = None,
    ) -> Entry:
        """Register a verified folder that stays where it is, in place of what the model had."""
        manifest = manifests.sizes(folder)

        def linked(record: Record | None) -> Record:
            return msgspec.structs.replace(
                _passed(model_id, record, verified),
                files=None,
                linked=str(folder),
                manifest=manifest,
                source=source,
                recipe=None,
                kv_bits=kv_bits,
                licence=licence,
            )

        return self._change(model_id, linked)

    def remove(self, model_id: str) -> None:
        """Remove a model, its files and what was acquired for it; a linked folder stays.

        Raises ModelNotFound, InvalidModelId for the built-in one, ModelBusy.
        """
        target, partial = self._models / model_id, self._partial / model_id
        if not is_id(model_id) or not (target.exists() or partial.exists()):
            if self.get(model_id).is_built_in:
                raise InvalidModelId(f"'{model_id}' is part of mlx-edge and cannot be removed.")
        with self.own(model_id, "remove") as owned:
            with self._locked():
                # Renamed first: deleting gigabytes takes a while, and may be interrupted.
                staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._models))
                with contextlib.suppress(FileNotFoundError):
                    os.rename(target, staging / "removed")
                durable.sync(self._models)
            shutil.rmtree(staging)
            owned.discard()

    def is_removed(self, model_id: str) -> bool:
        """Whether nothing is registered under an id that once was; one look at the disk."""
        try:
            os.stat(self._models / model_id / "model.json")
        except (FileNotFoundError, NotADirectoryError):
            return model_id != BUILT_IN_ID
        except OSError:  # the disk does not answer: that is no removal
            return False
        return False

    def note_load(
        self,
        model_id: str,
        load_s: float,
        peak_memory_bytes: int,
        probed: Probed | None = None,
        chat_format: ChatFormat | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        """Record what a load took and found out. Nothing happens if the model is gone by now."""
        self._note(
            model_id,
            load_s=load_s,
            peak_memory_bytes=peak_memory_bytes,
            probed=probed,
            chat_format=chat_format,
            memory=memory,
        )

    def note_kv_bits(self, model_id: str, kv_bits: KvBits) -> None:
        """Record in how many bits a person wants what rows keep of the model."""
        self._note(model_id, kv_bits=kv_bits)

    def note_verified(self, model_id: str, verified: Verified, manifest: Manifest) -> None:
        """Record that a model passed verification again."""
        self._note(model_id, verified=verified, manifest=manifest, failure=None)

    def note_broken(self, model_id: str, reason: str) -> None:
        """Record that a model failed verification: it is not ready from now on."""
        self._note(model_id, verified=None, failure=reason)

    def partial(self, model_id: str) -> Path:
        """The folder where a model's files are gathered until they are published. Checks the id."""
        self.check_id(model_id)
        return self._partial / model_id

    def own(self, model_id: str, action: str) -> Ownership:
        """The right to work on a model, among all processes. Raises ModelBusy, InvalidModelId."""
        check_id(model_id)
        return Ownership(self._partial / model_id, action)

    def check_id(self, model_id: str) -> None:
        """Whether a model may be written under this id. Raises InvalidModelId, ModelExists."""
        check_id(model_id)
        if any(entry.id == model_id for entry in _built_in()):
            raise ModelExists(f"A model '{model_id}' already exists: it is part of mlx-edge.")

    def sweep(self) -> None:
        """Remove what killed writers left; a model whose record cannot be read is not touched."""
        if self._models.is_dir():
            with self._locked():
                for left in self._models.glob(f"{_STAGING}*"):
                    shutil.rmtree(left, ignore_errors=True)
                for model_id in self._records.ids():
                    record = self._records.get(model_id)
                    if record or not (self._models / model_id / "model.json").exists():
                        self._sweep(model_id, record)
        for folder in self._partial.iterdir() if self._partial.is_dir() else ():
            with contextlib.suppress(ModelBusy):
                Ownership(folder, "sweep").release()  # removes the folder if nothing is in it

    def _entry(self, record: Record) -> Entry:
        folder = self._models / record.id
        if record.linked is not None or record.files is not None:
            folder = Path(record.linked) if record.linked else folder / (record.files or "")
        is_ready = record.verified is not None and manifests.is_whole(folder, record.manifest)
        return Entry(
            record.id,
            record.kind,
            folder,
            record.created_at,
            is_ready,
            record.size_bytes,
            record=record,
        )

    def _change(
        self,
        model_id: str,
        change: Callable[[Record | None], Record],
        *,
        moved: tuple[Path, str] | None = None,
    ) -> Entry:
        """Replace a record. `moved`: a folder to move in, and its name in the record."""
        self.check_id(model_id)
        folder = self._models / model_id
        with self._locked():
            if folder.exists() and model_id not in os.listdir(self._models):
                raise ModelExists(f"A model '{model_id}' already exists, in other capitals.")
            record = change(self._records.get(model_id))
            durable.make_folder(folder)
            with durable.replacing(folder / "model.json", msgspec.json.encode(record)):
                if moved is not None:
                    os.rename(moved[0], folder / moved[1])
                    durable.sync(folder)
            durable.sync(self._models)
            if record.files is not None or record.linked is not None:
                self._sweep(model_id, record)
        return self._entry(record)

    def _note(self, model_id: str, **fields: object) -> None:
        def noted(record: Record | None) -> Record:
            if record is None:
                raise ModelNotFound(model_id)
            return msgspec.structs.replace(record, **fields)

        with contextlib.suppress(ModelNotFound, ModelExists):
            self.get(model_id)
            self._change(model_id, noted)

    def _sweep(self, model_id: str, record: Record | None) -> None:
        """Remove those of our files that a model's record does not name."""
        folder = self._models / model_id
        durable.sweep(folder)
        for files in folder.glob(f"{_FILES}*"):
            if record is None or files.name != record.files:
                shutil.rmtree(files, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: a model, or a file of the user's
            folder.rmdir()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        durable.make_folder(self._models)
        with durable.locked(self.home / "store.lock"):
            yield


def _built_in() -> Iterator[Entry]:
    weights = BUILT_IN / "model.safetensors"
    if weights.exists():
        status = weights.stat()
        yield Entry(BUILT_IN_ID, "llm", BUILT_IN, status.st_mtime, True, status.st_size, True)


def _passed(model_id: str, record: Record | None, verified: Verified) -> Record:
    fresh = Record(model_id, "llm", time.time()) if record is None else record
    return fresh.passed(verified)
