"""A model on disk, or one to fetch, as the store API shows it. Used by `routes` and `arrivals`."""

from registry.checkpoint.config import Json
from registry.hub.catalog import CatalogEntry
from registry.jobs.job import Job
from registry.store.record import DEFAULT_VERSION
from registry.store.store import Entry


def describe(entry: Entry, job: Job | None) -> dict[str, Json]:
    """Public, so local paths and URLs stay out of it. `job` is the one that is at work on it."""
    record = entry.record
    value: dict[str, Json] = {
        "id": entry.id,
        "version": record.version if record else DEFAULT_VERSION,
        "kind": entry.kind,
        "readyToUse": entry.is_ready,
        "createdAt": int(entry.created_at * 1000),
    }
    if record is not None:
        gguf = dict(record.gguf)
        if record.init_context_size is not None:
            gguf["initContextSize"] = record.init_context_size
        value |= {"gguf": gguf}
        if record.metadata:
            value["metadata"] = record.metadata
    if entry.is_ready:
        value["status"] = "ready"
        if record is None or record.linked is None:
            value["totalSize"] = entry.size_bytes
    elif record is not None and record.failure is not None:
        value |= {"status": "broken", "statusMessage": record.failure}
    if job is not None:
        value |= {"job": job.id, "statusMessage": job.state.stage}
        if not entry.is_ready:
            value["status"] = "downloading"
    return value


def offer(entry: CatalogEntry, is_here: bool) -> dict[str, Json]:
    """A model of the catalog; `id` is what a pull registers it under, if nobody says otherwise."""
    return {
        "id": entry.name,
        "repo": entry.repo_id,
        "kind": entry.kind,
        "bits": entry.bits,
        "size": entry.size_bytes,
        "description": entry.description,
        "here": is_here,
    }
