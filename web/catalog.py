"""Where the registry and the runtime meet: a registered entry becomes a model to run."""

import asyncio
import logging
from collections.abc import Callable

from registry import catalog
from registry.errors import ModelNotFound
from registry.store import Entry, Store
from runtime.model import Model

from .errors import ApiError

logger = logging.getLogger(__name__)


RUNNABLE_KINDS = ("llm", "embed")


def servable(store: Store, model_id: str) -> Model:
    """The model of an id, to chat with. Raises ModelNotFound, or ApiError that says what to do."""
    entry = known(store, model_id)
    check_kind(entry.kind, model_id)
    if not entry.is_ready:
        raise ApiError(
            400,
            f"Model '{model_id}' is not ready: it is registered, but its weights are not there.",
            param="model",
            code="model_not_ready",
        )
    if entry.kind != "llm":
        raise ApiError(
            400, f"Model '{model_id}' is of kind '{entry.kind}'; chat needs 'llm'.", param="model"
        )
    return model_of(entry)


def known(store: Store, model_id: str) -> Entry:
    """The entry of an id. For one that is only in the catalog, the 404 says how to get it."""
    try:
        return store.get(model_id)
    except ModelNotFound as error:
        if catalog.find(model_id) is None:
            raise
        raise ApiError(
            404,
            f"{error}; it is in the catalog: get it with `mlx-edge pull {model_id}`.",
            param="model",
            code="model_not_found",
        ) from None


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
    return Model(entry.id, entry.folder, entry.record.init_context_size if entry.record else None)


def note_loads(store: Store) -> Callable[[Model, float, int], None]:
    """For the pool's `on_load`: what a model's first load took goes into its record."""

    def note(model: Model, load_s: float, memory_bytes: int) -> None:
        asyncio.get_running_loop().run_in_executor(None, write, model.id, load_s, memory_bytes)

    def write(model_id: str, load_s: float, memory_bytes: int) -> None:
        try:
            record = store.get(model_id).record
            if record is not None and record.load_s is None:
                store.note_load(model_id, load_s, memory_bytes)
        except (
            Exception
        ) as error:  # a full disk, or a model removed meanwhile: it runs all the same
            logger.warning("the first load of %s was not noted: %s", model_id, error)

    return note
