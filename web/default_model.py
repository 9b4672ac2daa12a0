"""Which model answers where a person names none: on the page, in `mlx-edge chat`, in examples."""

from typing import NamedTuple

from registry.errors import RegistryError
from registry.hub.catalog import STARTER_ID
from registry.store import choice
from registry.store.store import BUILT_IN_ID, Store

from .errors import ApiError
from .serving import servable


class Default(NamedTuple):
    """A model that is here, and whether a person chose it."""

    id: str
    is_chosen: bool


def default_model(store: Store) -> Default:
    """The chosen one; if it is not here, or nobody chose, the starter, and else the built-in one.

    Asked of the disk each time, so that a running server follows.
    """
    chosen = choice.chosen(store.home)
    if chosen is not None and _can_answer(store, chosen):
        return Default(chosen, True)
    return Default(STARTER_ID if _can_answer(store, STARTER_ID) else BUILT_IN_ID, False)


def _can_answer(store: Store, model_id: str) -> bool:
    try:
        store.get(model_id)  # by this very id
        servable(store, model_id)
    except (RegistryError, ApiError):
        return False
    return True
