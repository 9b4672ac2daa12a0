"""What `mlx-edge show` says of a model: its state, its shape, its provenance."""

from collections.abc import Iterator
from datetime import UTC, datetime

from registry.checkpoint.kv_bits import NOT_QUANTISED
from registry.checkpoint.sampling import SamplingDefaults
from registry.checkpoint.verify import Verified
from registry.hub.sampling import defaults_of
from registry.store.record import Record
from registry.store.store import Entry

_TASKS = {"embed": "embed", "llm": "chat"}


def described(entry: Entry) -> Iterator[tuple[str, str]]:
    """Names and values, in the order to be read; only what is known."""
    record = entry.record
    yield "id", entry.id
    yield "kind", entry.kind
    yield "ready", "yes" if entry.is_ready else "no"
    yield "folder", str(entry.folder)
    yield "size", f"{entry.size_bytes / 1e6:.1f} MB"
    yield "created", _time(entry.created_at)
    if record is not None:
        yield from _shape(record)
    if entry.is_ready and entry.kind == "llm":
        yield from _sampling(entry)
    if record is not None:
        yield from _provenance(record)
        yield from _measured(record)


def _shape(record: Record) -> Iterator[tuple[str, str]]:
    if record.failure is not None:
        yield "failure", record.failure
    if (verified := record.verified) is not None:
        yield "task", _task(verified)
        yield "type", verified.model_type
        yield "parameters", f"{verified.num_params / 1e6:.1f} million"
        yield "precision", f"{verified.bits} bits" if verified.bits else "not quantised"
        yield "context", f"{verified.context_length} tokens"
        yield "verified", _time(verified.verified_at)
    if record.kv_bits is not None:
        bits = "not quantised" if record.kv_bits == NOT_QUANTISED else f"{record.kv_bits} bits"
        yield "KV cache", bits
    if record.init_context_size is not None:
        yield "limited to", f"{record.init_context_size} tokens"


def _sampling(entry: Entry) -> Iterator[tuple[str, str]]:
    """What takes the place of what a request leaves out."""
    used = defaults_of(entry)
    neutral = SamplingDefaults().values() | {"temperature": None}
    said = (f"{name} {v:g}" for name, v in used.values().items() if v != neutral[name])
    yield "sampling", f"{', '.join(said)} ({used.source})"
    if used.not_used:
        named = ", ".join(f"{name} {value:g}" for name, value in used.not_used.items())
        yield "not used", f"{named}, which the model's authors recommend"


def _task(verified: Verified) -> str:
    if verified.kind == "llm" and verified.has_chat_template is False:
        return "none, for it has no chat template"
    return "rerank" if verified.is_reranker else _TASKS.get(verified.kind, "chat")


def _provenance(record: Record) -> Iterator[tuple[str, str]]:
    if (source := record.source) is not None:
        yield "source", f"{source.kind} {source.location}"
        if source.revision is not None:
            yield "revision", source.revision
        if source.note is not None:
            yield "note", source.note
    if record.licence is not None:
        yield "licence", record.licence
    if (recipe := record.recipe) is not None and recipe.converts:
        bits = f"{recipe.bits} bits in groups of {recipe.group_size}" if recipe.bits else ""
        yield "converted", " ".join(part for part in (bits, recipe.dtype or "") if part)
    if recipe is not None and recipe.task is not None:
        yield "taken as", recipe.task
    for line in record.weights:
        yield "weights", line
    if source is not None:
        for name, sha256 in source.sha256.items():
            yield "sha256", f"{sha256}  {name}"


def _measured(record: Record) -> Iterator[tuple[str, str]]:
    if record.load_s is not None:
        yield "load", f"{record.load_s:.1f} s"
    if record.peak_memory_bytes is not None:
        yield "memory", f"{record.peak_memory_bytes / 1e6:.1f} MB"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
