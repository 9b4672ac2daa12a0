"""Where the registry and the runtime meet: a registered entry becomes a model to run."""

from registry.store import Entry, Store
from runtime.model import Model

from .errors import ApiError


def servable(store: Store, model_id: str) -> Model:
    """The model of an id. Raises ModelNotFound, or ApiError when its files are not there."""
    entry = store.get(model_id)
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


def model_of(entry: Entry) -> Model:
    """What is handed over is the folder: its files are the interface."""
    return Model(entry.id, entry.folder)
