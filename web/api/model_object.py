"""A model as /models shows it, for all dialects: on disk, on its way into memory, or there."""

import msgspec

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.config import Json
from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.exactness import Batching
from registry.checkpoint.kv_bits import KvBits
from registry.hub.sampling import defaults_of
from registry.store.store import Entry
from runtime.events import Loading
from runtime.resident import ResidentModel
from web.default_model import Default
from web.serving import Task, can_chat, model_of, task_of


def describe(
    entry: Entry, loaded: ResidentModel | None, loading: Loading | None = None
) -> dict[str, Json]:
    """One model object for both dialects: the documented keys, and what is worth knowing."""
    value: dict[str, Json] = {
        "id": entry.id,
        "object": "model",
        "created": int(entry.created_at),
        "owned_by": "local",
        "kind": entry.kind,
        "loaded": loaded is not None,
        "state": state_of(loaded, loading),
    }
    if loading is not None:
        value["loading"] = loading_progress(loading)
    facts = _facts(entry)
    return value if facts is None else value | _usable(entry, loaded, *facts)


def memory_of_all(loaded: list[ResidentModel], room: int) -> dict[str, Json]:
    """What all models hold, and what they could have now beside everything else that runs."""
    held = sum(model.memory_bytes for model in loaded)
    return {
        "held_bytes": held,
        "prefix_bytes": sum(model.cache.num_bytes for model in loaded),
        "limit_bytes": held + max(0, room),
    }


def choice(entry: Entry, default: Default) -> dict[str, Json]:
    """Whether it is what the page and `chat` begin with, and whether a person chose that."""
    is_default = entry.id == default.id
    return {"default": is_default, "default_is_chosen": is_default and default.is_chosen}


def state_of(loaded: ResidentModel | None, loading: Loading | None = None) -> str:
    """Where a model is: in memory, on its way there or out of it, or on disk alone."""
    if loaded is not None:
        return "unloading" if loaded.is_unloading else "loaded"
    return "loading" if loading is not None else "unloaded"


def loading_progress(step: Loading) -> dict[str, Json]:
    """How a load comes on, in a list and in each of its events."""
    return {
        "progress": step.fraction,
        "loaded_bytes": step.loaded_bytes,
        "total_bytes": step.total_bytes,
    }


def _usable(
    entry: Entry, loaded: ResidentModel | None, family: str, trained_context: int, context: int
) -> dict[str, Json]:
    """What is worth knowing of a model that can be used; of one in memory, there is more."""
    task = task_of(entry)
    encoder = _encoder(entry)
    if encoder is not None:
        context = encoder.max_input_tokens  # often less than config.json says
    value: dict[str, Json] = {
        "context_length": context,
        "max_output_tokens": context - 1 if task == "chat" else None,
        "size_bytes": entry.size_bytes,
        "kv_bits": _kv_bits(entry, loaded),
        "capabilities": _capabilities(entry, task, loaded),
        "info": {
            "kind": entry.kind,
            "family": family,
            "max_context": context,
            "n_ctx_train": trained_context,
            "n_embd": encoder.num_dimensions if encoder and task == "embeddings" else None,
            "model_size": entry.size_bytes,
            "chatTemplate": "",
            "chat_template_hint": "",
            "input_modalities": ["text"],
            "supported_parameters": None,
            "reasoning": {"supported": _thinks(entry, loaded)},
        },
    }
    if task == "chat":
        value["chat_template"] = _chat_template(entry, loaded)
        value["sampling"] = msgspec.to_builtins(defaults_of(entry))
    if loaded is not None:
        value |= _in_memory(loaded)
        assert isinstance(value["info"], dict)
        value["info"] |= {
            "n_params": loaded.info.num_params,
            "n_vocab": loaded.info.vocab_size,
            "device": loaded.info.device,
        }
    return value


def _facts(entry: Entry) -> tuple[str, int, int] | None:
    """Architecture, trained and permitted context; None for a model that cannot be used."""
    if not entry.is_ready:
        return None
    verified = entry.record.verified if entry.record else None
    if entry.record is not None and verified is not None:
        trained = verified.context_length
        return verified.model_type, trained, min(trained, entry.record.init_context_size or trained)
    model = model_of(entry)
    try:
        return model.model_type, model.trained_context, model.context_length
    except (OSError, ValueError):  # gone or damaged since: that is no reason to show no other
        return None


def _batching(entry: Entry, loaded: ResidentModel | None) -> Batching | None:
    """How its rows are batched; None until a first load has found out."""
    if loaded is not None:
        return loaded.info.probed.exactness.batching
    probed = entry.record.probed if entry.record else None
    return probed.exactness.batching if probed else None


def _kv_bits(entry: Entry, loaded: ResidentModel | None) -> KvBits | None:
    """Those in use; else what a person wants, None where nobody said it."""
    if loaded is not None:
        return loaded.info.kv_bits if loaded.info.kind == "llm" else None
    return entry.record.kv_bits if entry.record else None


def _capabilities(entry: Entry, task: Task, loaded: ResidentModel | None) -> dict[str, Json]:
    is_chat = can_chat(entry)
    return {
        "chat": is_chat,
        "embeddings": task == "embeddings",
        "rerank": task == "rerank",
        "streaming": is_chat,
        "batching": _batching(entry, loaded),
        "input_modalities": ["text"],
    }


def _chat_format(entry: Entry, loaded: ResidentModel | None) -> ChatFormat | None:
    """What its template takes; None until a first load has found out, and where there is none."""
    noted = entry.record.chat_format if entry.record else None
    return loaded.chat_format if loaded is not None else noted


def _chat_template(entry: Entry, loaded: ResidentModel | None) -> dict[str, Json] | None:
    form = _chat_format(entry, loaded)
    return form.shown() if form is not None else None


def _thinks(entry: Entry, loaded: ResidentModel | None) -> bool:
    """Whether its template sets thoughts apart."""
    form = _chat_format(entry, loaded)
    return form is not None and form.thinking is not None


def _encoder(entry: Entry) -> EncoderConfig | None:
    """What the files of an embedding model or reranker say; None for others and damaged ones."""
    try:
        return EncoderConfig.of(model_of(entry)) if entry.kind == "embed" else None
    except (OSError, ValueError):
        return None


def _in_memory(loaded: ResidentModel) -> dict[str, Json]:
    return {
        "memory_bytes": loaded.memory_bytes,
        "memory_model": {"error_p95": loaded.memory_error, "margin": loaded.memory_margin},
        "pinned": loaded.pinned,
        "expires_in_s": loaded.expires_in_s,
        "num_running": loaded.num_running,
        "num_waiting": loaded.num_waiting,
        "num_rows": loaded.num_rows,
        "num_waiting_for_memory": loaded.num_short,
        "num_set_aside": loaded.num_aside,
        "num_continued": loaded.num_continued,
        "prefix_cache": {
            "num_bytes": loaded.cache.num_bytes,
            "budget_bytes": loaded.cache.budget_bytes,
            "num_tokens": loaded.cache.num_tokens,
            "prompt_tokens": loaded.cache.prompt_tokens,
            "cached_tokens": loaded.cache.cached_tokens,
        },
        "metrics": {
            "inference_count": loaded.num_requests,
            "last_used": int(loaded.last_used),
            "loaded_at": int(loaded.loaded_at),
            "tokens_per_second": loaded.tokens_per_second,
            "avg_tokens_per_second": loaded.avg_tokens_per_second,
        },
    }
