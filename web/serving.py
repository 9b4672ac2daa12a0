"""Where the registry and the runtime meet: a registered entry becomes a model to run."""

import asyncio
import logging
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from registry.checkpoint import chat_template
from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.exactness import Probed
from registry.checkpoint.model import Model
from registry.checkpoint.model_memory import ModelMemory
from registry.errors import ModelNotFound, NotAModel
from registry.hub import catalog
from registry.hub.sampling import defaults_of
from registry.store.store import Entry, Store
from runtime.loads import OnLoad

from .errors import ApiError
from .model_name import hint, meant

logger = logging.getLogger(__name__)


RUNNABLE_KINDS = ("llm", "embed")

Task: TypeAlias = Literal["chat", "completions", "embeddings", "rerank"]
_TASKS: dict[Task, str] = {
    "chat": "chats",
    "completions": "goes on texts",
    "embeddings": "makes embeddings",
    "rerank": "reranks documents",
}
_NOUNS: dict[Task, str] = {
    "chat": "a chat",
    "completions": "a completion",
    "embeddings": "embeddings",
    "rerank": "a ranking",
}
_MAX_NAMED = 8  # models in an error's text


def servable(store: Store, model_id: str, task: Task = "chat") -> Model:
    """The model of an id, for a task. Raises ModelNotFound, or ApiError that says what to do."""
    try:
        entry = _ready(store, model_id)
    except ModelNotFound as error:
        if task in ("chat", "completions"):  # mimOE's documentation prints this 404, word for word
            raise
        raise _not_found(f"{error}; get it with `mlx-edge pull OWNER/NAME`.") from None
    if (own := task_of(entry)) != ("chat" if task == "completions" else task):
        raise ApiError(
            400,
            f"Model '{model_id}' {_TASKS[own]}, and cannot be asked for {_NOUNS[task]}. "
            + who_can(store, task),
            param="model",
            code="unsupported_task",
        )
    if task == "chat" and not can_chat(entry):
        raise ApiError(
            400,
            f"Model '{model_id}' has no chat template, so it cannot chat: take the chat version of "
            f"it, or import it again with a chat_template.jinja in its folder. "
            + who_can(store, task),
            param="model",
            code="unsupported_task",
        )
    return model_of(entry)


def loadable(store: Store, model_id: str) -> Model:
    """The model of an id, whatever it does. Raises as `servable` does."""
    return model_of(_ready(store, model_id))


def task_of(entry: Entry) -> Task:
    """What a model is for."""
    if entry.kind != "embed":
        return "chat"
    verified = entry.record.verified if entry.record else None
    return "rerank" if verified is not None and verified.is_reranker else "embeddings"


def can_chat(entry: Entry) -> bool:
    """Whether messages can be put to it: a language model without a template only goes on a text.

    The record tells. For those of before it did, and the built-in one, the files are read once.
    """
    if task_of(entry) != "chat":
        return False
    verified = entry.record.verified if entry.record else None
    if verified is not None and verified.has_chat_template is not None:
        return verified.has_chat_template
    return _has_chat_template(entry.folder, verified.verified_at if verified else None)


@lru_cache(maxsize=1024)
def _has_chat_template(folder: Path, verified_at: float | None) -> bool:
    """`verified_at` is there so that a folder is asked again once it was verified again."""
    try:
        return chat_template.exists(folder)
    except NotAModel:  # a damaged file: the chat will tell which
        return True


def _ready(store: Store, model_id: str) -> Entry:
    entry = known(store, model_id)
    check_kind(entry.kind, model_id)
    if not entry.is_ready:
        failure = entry.record.failure if entry.record else None
        reason = failure or "it is registered, but its weights are not there."
        raise ApiError(
            400,
            f"Model '{model_id}' is not ready: {reason}",
            param="model",
            code="model_not_ready",
        )
    return entry


def who_can(store: Store, task: Task) -> str:
    """The registered models that do it; where none does, how to get one."""
    entries = (e for e in store.entries() if e.is_ready and e.kind in RUNNABLE_KINDS)
    own = "chat" if task == "completions" else task
    names = [e.id for e in entries if task_of(e) == own and (task != "chat" or can_chat(e))]
    if names:
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        can = "These can" if len(names) > 1 else "This one can"
        return f"{can}: {', '.join(names[:_MAX_NAMED])}{more}."
    kind = "llm" if task in ("chat", "completions") else "embed"
    # The catalog has no reranker.
    known_names = [name for name, entry in catalog.CATALOG.items() if entry.kind == kind]
    example = known_names[0] if known_names and task != "rerank" else "OWNER/NAME"
    return f"No registered model can; get one with `mlx-edge pull {example}`."


def known(store: Store, model_id: str) -> Entry:
    """The entry that a name means. The 404 says how to get one of the catalog, or what is near."""
    try:
        return store.get(model_id)
    except ModelNotFound as error:
        missing = error
    ids = [entry.id for entry in store.entries()]
    if (other := meant(model_id, ids)) is not None:
        return store.get(other)
    if catalog.find(model_id) is not None:
        raise _not_found(
            f"{missing}; it is in the catalog: get it with `mlx-edge pull {model_id}`."
        ) from None
    if near := hint(model_id, ids):
        raise _not_found(f"{missing}{near}") from None
    raise missing


def _not_found(message: str) -> ApiError:
    return ApiError(404, message, param="model", code="model_not_found")


def check_kind(kind: str, model_id: str) -> None:
    """Raises ApiError for a model that may be registered, but that nothing here can run."""
    if kind not in RUNNABLE_KINDS:
        raise ApiError(
            400,
            f"Model '{model_id}' is of kind '{kind}', which this build cannot run; it runs "
            f"{' and '.join(RUNNABLE_KINDS)}.",
            param="model",
            code="unsupported_kind",
        )


def model_of(entry: Entry) -> Model:
    """What is handed over is the folder: its files are the interface."""
    sampling = defaults_of(entry)
    if (record := entry.record) is None:
        return Model(entry.id, entry.folder, sampling=sampling)
    return Model(
        entry.id,
        entry.folder,
        record.init_context_size,
        record.probed,
        sampling,
        record.memory,
        record.kv_bits,
        record.load_s,
    )


def _lasting(memory: ModelMemory | None) -> ModelMemory | None:
    """What is the same after every load: a process is never twice of one size."""
    return memory and msgspec.structs.replace(memory, process_bytes=0)


def note_loads(store: Store) -> OnLoad:
    """For the pool's `on_load`: what a first load took and found out goes into the record.

    A later one is noted when it found out something else: with another build of MLX, say.
    """

    def note(
        model: Model,
        load_s: float,
        memory_bytes: int,
        probed: Probed,
        chat_format: ChatFormat | None,
        memory: ModelMemory,
    ) -> None:
        asyncio.get_running_loop().run_in_executor(
            None, write, model.id, load_s, memory_bytes, probed, chat_format, memory
        )

    def write(
        model_id: str,
        load_s: float,
        memory_bytes: int,
        probed: Probed,
        chat_format: ChatFormat | None,
        memory: ModelMemory,
    ) -> None:
        try:
            record = store.get(model_id).record
            if record is None:
                return
            chat_format = chat_format or record.chat_format  # it may not have answered
            known = (record.probed, record.chat_format, _lasting(record.memory))
            if record.load_s is None or known != (probed, chat_format, _lasting(memory)):
                store.note_load(model_id, load_s, memory_bytes, probed, chat_format, memory)
        except (
            Exception
        ) as error:  # a full disk, or a model removed meanwhile: it runs all the same
            logger.warning("the first load of %s was not noted: %s", model_id, error)

    return note
