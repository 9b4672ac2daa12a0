"""From an order to a model that is ready: acquired, converted, verified, published.

Called by `jobs`; `run_now` is for callers without an event loop. Whatever happens on the way, the
store lists what it listed before, until the last step.
"""

import asyncio
import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Protocol

import msgspec

from registry.checkpoint import lfs, names, shards
from registry.checkpoint.companions import CONFIG
from registry.checkpoint.config import read_json
from registry.checkpoint.kind import kind_in
from registry.checkpoint.task import TASKS
from registry.convert_messages import Work
from registry.errors import (
    BrokenWeights,
    ModelExists,
    ModelNotFound,
    NotAModel,
    RegistryError,
    SourceRefused,
)
from registry.store import manifests
from registry.store.ownership import Ownership
from registry.store.record import Source
from registry.store.store import Entry, Store
from registry.threads import in_thread, to_the_end

from . import acquire, local
from .acquire import Acquired, ProvisionSettings, Receive
from .conversion import run_work
from .fetching import Counter, OnStage
from .naming import name
from .order import Convert, Download, Import, Order, Package, Pull, Upload, Verify, action_of
from .recipe import check_recipe, check_small_files


class Runner(Protocol):
    """What carries an order out: `run`, or a test's stand-in."""

    async def __call__(
        self,
        order: Order,
        store: Store,
        settings: ProvisionSettings,
        report: OnStage,
        owned: Ownership | None = None,
        receive: Receive | None = None,
    ) -> None: ...


def check(order: Order, store: Store) -> None:
    """Refuse at once an order that cannot succeed.

    Raises InvalidModelId, ModelExists, ModelNotFound, NotAModel, SourceRefused.
    """
    if isinstance(order, Verify):
        store.get(order.model_id)
        return
    store.check_id(order.model_id)
    for said in msgspec.structs.astuple(order):
        if isinstance(said, str):
            _check_text(said)
    with contextlib.suppress(ModelNotFound):
        if store.get(order.model_id).is_ready:
            raise ModelExists(
                f"A model '{order.model_id}' already exists. Remove it with "
                f"`mlx-edge rm {order.model_id}`, or choose another id."
            )
    try:
        if isinstance(order, Convert):
            check_recipe(_ready(order.from_id, store).folder, order.recipe)
        elif isinstance(order, Import):
            _check_import(order)
    except (RegistryError, OSError) as error:
        name(error, order, store.home)
        raise


async def run(
    order: Order,
    store: Store,
    settings: ProvisionSettings,
    report: OnStage,
    owned: Ownership | None = None,
    receive: Receive | None = None,
) -> None:
    """Carry an order out. `owned` is the caller's to release; without it, the model is owned here.

    Raises RegistryError and OSError; what has been acquired stays if trying again can use it.
    """
    if owned is None:
        check(order, store)
        with store.own(order.model_id, action_of(order)) as owned:
            return await run(order, store, settings, report, owned, receive)
    try:
        await _carry_out(order, store, settings, report, owned, receive)
    except (RegistryError, OSError) as error:
        name(error, order, store.home)
        raise


async def _carry_out(
    order: Order,
    store: Store,
    settings: ProvisionSettings,
    report: OnStage,
    owned: Ownership,
    receive: Receive | None,
) -> None:
    if isinstance(order, Verify):
        return await _verify(order, store, report)
    if isinstance(order, Import) and order.link:
        return await _link(order, store, report)
    try:
        acquired = await _acquire(order, store, owned, settings, report, receive)
        await _finish(order, acquired, store, owned, report)
    except RegistryError as error:
        # A download is kept for the next try, unless it is itself what is wrong.
        if not isinstance(order, Pull | Download | Package) or isinstance(
            error, NotAModel | BrokenWeights
        ):
            await to_the_end(owned.discard)
        raise
    await to_the_end(owned.discard)


def run_now(order: Order, store: Store, settings: ProvisionSettings | None = None) -> Entry:
    """Carry an order out and wait for it, outside any event loop."""
    settings = settings or ProvisionSettings()
    asyncio.run(run(order, store, settings, lambda stage, done, total: None))
    return store.get(order.model_id)


async def _acquire(
    order: Pull | Download | Upload | Import | Package | Convert,
    store: Store,
    owned: Ownership,
    settings: ProvisionSettings,
    report: OnStage,
    receive: Receive | None,
) -> Acquired:
    match order:
        case Pull():
            return await acquire.pull(order, owned, settings, report)
        case Download():
            return await acquire.download(order, owned, settings, report)
        case Upload():
            return await acquire.receive_upload(order, owned, receive, report)
        case Import():
            return await acquire.import_path(order, owned, settings, report)
        case Package():
            return await acquire.take_from_package(order, owned, settings, report)
        case Convert():
            owned.discard()
            entry = _ready(order.from_id, store)
            is_own = entry.record is not None and entry.record.linked is None
            source = (entry.record and entry.record.source) or Source("folder", order.from_id)
            licence = entry.record.licence if entry.record else None
            return Acquired(entry.folder, source, licence, is_own)


async def _finish(
    order: Pull | Download | Upload | Import | Package | Convert,
    acquired: Acquired,
    store: Store,
    owned: Ownership,
    report: OnStage,
) -> None:
    """Convert and verify in a job process, then publish."""
    recipe = order.recipe
    # A new name: the job process of a server that was killed may still write to the old.
    target = owned.folder / f"converted-{secrets.token_hex(4)}"
    work = Work(
        source=str(acquired.path),
        target=str(target),
        bits=recipe.bits,
        group_size=recipe.group_size,
        dtype=recipe.dtype,
        task=recipe.task,
        may_link=acquired.is_own,
    )
    try:
        verified = await run_work(work, report)
        counter = Counter(report, "publishing", manifests.num_bytes(target))
        manifest = await in_thread(lambda step: manifests.take(target, step), counter.add)
        await to_the_end(
            lambda: store.publish(
                order.model_id,
                target,
                source=acquired.source,
                recipe=recipe,
                verified=verified,
                licence=acquired.licence,
                manifest=manifest,
            )
        )
    finally:
        await to_the_end(lambda: shutil.rmtree(target, ignore_errors=True))


async def _link(order: Import, store: Store, report: OnStage) -> None:
    """Verify a folder where it is, and register it."""
    report("linking", 0, None)
    path = Path(order.path)
    choice = await local.weights_in(path, order.path)
    is_plain = all(here == there for here, there in choice.files.items())
    if not is_plain or choice.is_index_wrong:
        raise SourceRefused(
            f"{path} has weights under names that mlx-lm does not load, or an index that is stale, "
            "and a linked folder stays as it is. Import it without linking."
        )
    verified = await run_work(Work(source=str(path), target=None), report)
    source = Source("folder", str(path))
    await to_the_end(
        lambda: store.publish_link(
            order.model_id, path, source=source, verified=verified, kv_bits=order.recipe.kv_bits
        )
    )


async def _verify(order: Verify, store: Store, report: OnStage) -> None:
    """Check a model again: the hashes of its files, then all that a new one has to pass."""
    entry = store.get(order.model_id)
    record = entry.record
    if record is not None and record.files is None and record.linked is None:
        raise NotAModel(f"Model '{entry.id}' has no files yet: download or upload them first.")
    manifest = record.manifest if record else {}
    counter = Counter(report, "verifying", sum(stored.size for stored in manifest.values()))
    try:
        await in_thread(lambda step: manifests.check(entry.folder, manifest, step), counter.add)
        verified = await run_work(Work(source=str(entry.folder), target=None), report)
    except (NotAModel, BrokenWeights) as error:  # if the job process died, that proves nothing
        name(error, order, store.home)
        reason = str(error)
        await to_the_end(lambda: store.note_broken(order.model_id, reason))
        raise
    if record is not None and record.linked is not None:
        manifest = manifests.sizes(entry.folder)
    await to_the_end(lambda: store.note_verified(order.model_id, verified, manifest))


def _ready(model_id: str, store: Store) -> Entry:
    entry = store.get(model_id)
    if not entry.is_ready:
        raise NotAModel(f"Model '{model_id}' is not ready, so nothing can be made of it.")
    return entry


def _check_text(said: Path | str) -> None:
    """Orders are kept as JSON, which has no place for other bytes."""
    if not names.is_text(said):
        raise SourceRefused(
            f"{names.shown(said)} has a name that is not UTF-8, and cannot be written down: give "
            "it another."
        )


def _check_import(order: Import) -> None:
    path = Path(order.path)
    if path.is_absolute():
        path = local.model_at(path)
    _check_text(path)
    is_gguf = path.is_file() and local.is_gguf(path)
    if not path.is_absolute() or not (path.is_dir() or is_gguf):
        raise SourceRefused(f"{path} is neither a folder nor a GGUF file, by its whole path.")
    if order.link and (is_gguf or order.recipe.converts):
        raise SourceRefused(
            f"{path} has to be converted, and a linked model stays as it is. Import it without "
            "linking."
        )
    if is_gguf:
        lfs.check(path, str(path.parent))
    else:
        lfs.check_folder(path, str(path), local.likely(path))
        shards.files(path)
    if (path / CONFIG).is_file():
        check_small_files(path, order.recipe)
        task = order.recipe.task
        if order.link and task not in (None, TASKS[kind_in(path, read_json(path / CONFIG))]):
            raise SourceRefused(
                f"{path} does not say itself that it is there to {task}, and a linked folder stays "
                "as it is. Import it without linking."
            )
