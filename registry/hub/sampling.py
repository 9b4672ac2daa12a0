"""How a registered model is sampled where a request does not say: its files, else the catalog."""

from functools import lru_cache
from pathlib import Path

from msgspec.structs import replace

from registry.checkpoint.sampling import FILE, Recommended, SamplingDefaults, recommended_in
from registry.errors import NotAModel
from registry.store.store import Entry

from . import catalog


def defaults_of(entry: Entry) -> SamplingDefaults:
    """What its files recommend; where they are silent, what the catalog knows; else our own."""
    in_files, in_catalog = _in_files(entry), _in_catalog(entry)
    if in_files.is_silent and in_catalog is not None:
        not_used = in_catalog.not_used | in_files.not_used
        return SamplingDefaults.of(replace(in_catalog, not_used=not_used), "catalog")
    return SamplingDefaults.of(in_files, FILE)


def _in_files(entry: Entry) -> Recommended:
    """The record tells. For those of before it did, and the built-in one, the file is read once."""
    verified = entry.record.verified if entry.record else None
    if verified is not None and verified.sampling is not None:
        return verified.sampling
    return _read(entry.folder, verified.verified_at if verified else None)


@lru_cache(maxsize=4096)
def _read(folder: Path, verified_at: float | None) -> Recommended:
    """`verified_at` is there so that a folder is asked again once it was verified again."""
    try:
        return recommended_in(folder)
    except NotAModel:  # a damaged file: the load will tell which
        return Recommended()


def _in_catalog(entry: Entry) -> Recommended | None:
    """By the repository that it came from, or the name that it was pulled under."""
    source = entry.record.source if entry.record else None
    found = catalog.by_repo(source.location) if source is not None else None
    found = found or catalog.find(entry.id)
    return found.sampling if found is not None else None
