"""Registered models that could not be loaded. By their records and headers; `--deep` by all."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from registry.checkpoint import shards
from registry.errors import RegistryError
from registry.jobs import provision
from registry.jobs.order import Verify
from registry.store.store import Entry, Store

from .finding import Finding


def findings(store: Store, *, is_deep: bool) -> Iterator[Finding]:
    """One for each model that is wrong, or one for all. `is_deep` reads every byte."""
    entries = [entry for entry in store.entries() if not entry.is_built_in]
    wrong = [*_unreadable(store, entries)]
    for entry in entries:
        if found := _fault(entry) or (_deep_fault(entry, store) if is_deep else None):
            wrong.append(found)
    yield from wrong
    if not wrong:
        how = "verified, down to every byte" if is_deep else "whole, by their records and headers"
        count = f"{len(entries)} beside the built-in one: {how}" if entries else "only the built-in"
        yield Finding("models", "ok", count)


def _fault(entry: Entry) -> Finding | None:
    record = entry.record
    if record is not None and record.failure is not None:
        return _broken(entry, f"failed verification: {record.failure}")
    if record is not None and record.verified is None:
        return Finding(
            "models",
            "note",
            f"{entry.id} is registered, and its files never came",
            f"Pull or upload them, or `mlx-edge rm {entry.id}`.",
        )
    if not entry.folder.is_dir():
        return _broken(entry, f"its folder is gone: {entry.folder}")
    if not entry.is_ready:
        return _broken(entry, f"files of it are missing or have other sizes, in {entry.folder}")
    try:
        shards.check(entry.folder, shards.find(entry.folder))
    except (RegistryError, OSError) as error:
        return _broken(entry, str(error))
    return None


def _deep_fault(entry: Entry, store: Store) -> Finding | None:
    """As `mlx-edge verify` finds it, which notes it in the record."""
    try:
        provision.run_now(Verify(entry.id), store)
    except (RegistryError, OSError) as error:
        return _broken(entry, str(error))
    return None


def _broken(entry: Entry, why: str) -> Finding:
    return Finding("models", "problem", f"{entry.id}: {why}", _remedy(entry))


def _remedy(entry: Entry) -> str:
    """Where it came from, it can be had again."""
    source = entry.record.source if entry.record else None
    again = f"`mlx-edge rm {entry.id}`, then "
    if source is not None and source.kind in ("hub", "url"):
        return f"{again}`mlx-edge pull {quote(source.location)} --id {entry.id}`."
    if source is not None and Path(source.location).exists():
        return f"{again}`mlx-edge import {quote(source.location)} --id {entry.id}`."
    return f"{again}bring it again."


def _unreadable(store: Store, entries: list[Entry]) -> Iterator[Finding]:
    known = {entry.id for entry in entries}
    for record in sorted((store.home / "models").glob("*/model.json")):
        if record.parent.name not in known:
            yield Finding(
                "models",
                "problem",
                f"the record of {record.parent.name} cannot be read, so it is not listed: {record}",
                f"`mlx-edge rm {record.parent.name}`, then pull or import it again.",
            )
