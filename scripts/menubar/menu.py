"""What the menu bar shows, as a value made of what was seen. Knows no rumps and asks nobody."""

import textwrap
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TypeAlias

from scripts.size import in_words

from .server import Model, Status
from .trouble import Trouble, Unreachable, WrongKey

_LINE = 70  # characters: a menu is as wide as its longest line


class Deed(Enum):
    """What an item does that needs no more words."""

    PAUSE = auto()
    RESUME = auto()
    OPEN_CHAT = auto()
    COPY_ENDPOINT = auto()
    COPY_KEY = auto()
    START_AT_LOGIN = auto()
    NOT_START_AT_LOGIN = auto()
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class Load:
    """Bring a model into memory."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Take it out again; one that is on its way in does not arrive."""

    model_id: str


Action: TypeAlias = Deed | Load | Unload


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a menu: grey if it does nothing and opens no further menu."""

    words: str
    action: Action | None = None
    items: tuple["Item | None", ...] = ()  # None is a line that separates
    is_checked: bool = False


@dataclass(frozen=True, slots=True)
class Menu:
    """`title` is what the bar itself shows."""

    title: str
    items: tuple[Item | None, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known now."""

    url: str
    status: Status | None = None
    trouble: Trouble | None = None  # why there is no status; None as well: nobody has looked yet
    model_ids: tuple[str, ...] = ()  # that could be loaded, or are
    starts_at_login: bool | None = None  # None: it is not known
    failure: str | None = None  # of what was clicked last


def menu_of(seen: Seen) -> Menu:
    """The menu bar, whatever was seen."""
    told = [Item(line) for line in _told(seen)]
    items: list[Item | None] = [*told, None]
    if seen.status is not None:
        items += [*_models(seen.status, seen.model_ids), None, *_offers(seen.status), None]
    elif isinstance(seen.trouble, WrongKey):  # the page asks for the key by itself
        items += [Item("Open Chat Page", Deed.OPEN_CHAT), None]
    items += [_login(seen.starts_at_login), None]
    items += [Item("Quit Menu Bar (the server goes on)", Deed.QUIT)]
    return Menu(_title(seen.status, seen.trouble), tuple(items))


# --- the bar itself -------------------------------------------------------------------------------


def _title(status: Status | None, trouble: Trouble | None) -> str:
    """A sign and a word or number: full while models answer, hollow while none does."""
    if status is None:
        words = {Unreachable: "off", WrongKey: "key", type(None): "…"}
        return f"◇ {words.get(type(trouble), '?')}"
    words_of_state = {"paused": "paused", "draining": "stopping", "no model can answer": "no model"}
    if word := words_of_state.get(status.state):
        return f"◇ {word}"
    loading = [model.loading.progress for model in status.models if model.loading is not None]
    if loading:
        return f"◈ {min(loading):.0%}"
    if speed := _speed(status):
        return f"◆ {speed}"
    return "◆ …" if status.is_busy else "◆"


# --- lines that only tell -------------------------------------------------------------------------


def _told(seen: Seen) -> list[str]:
    """What is the case, and what to do about it."""
    if seen.status is not None:
        lines = _at_a_glance(seen.status)
    elif isinstance(seen.trouble, Unreachable):
        lines = [
            f"No server answers at {seen.url}",
            "Start it with `mlx-edge serve`, or for good with `mlx-edge service install`",
        ]
    elif isinstance(seen.trouble, WrongKey):
        lines = [
            f"The server at {seen.url} wants another key",
            "Start the menu bar with --api-key, or set MLX_EDGE_API_KEY",
        ]
    elif seen.trouble is not None:
        lines = textwrap.wrap(str(seen.trouble), _LINE)
    else:
        lines = [f"Looking for the server at {seen.url}"]
    return lines + (textwrap.wrap(f"⚠ {seen.failure}", _LINE) if seen.failure else [])


def _at_a_glance(status: Status) -> list[str]:
    words = {
        "ready": "is ready",
        "paused": "is paused: what runs goes on, new requests are refused",
        "draining": "is shutting down",
        "no model can answer": "is up, but no model can answer: its log says why",
    }
    memory = status.memory
    held = f"{in_words(memory.held_bytes)} of {in_words(memory.limit_bytes)} for models in use"
    speed = _speed(status)
    told = words.get(status.state, f"says: {status.state}")  # of a server that is newer
    return [f"mlx-edge {status.version} {told}", f"{held}, {speed}" if speed else held]


def _speed(status: Status) -> str:
    """Of all requests together; nothing where there is none."""
    return f"{status.tokens_per_second:.0f} tok/s" if status.tokens_per_second else ""


# --- models ---------------------------------------------------------------------------------------


def _models(status: Status, model_ids: tuple[str, ...]) -> list[Item]:
    """Those in memory, each with what can be done about it, and those that could be."""
    is_draining = status.state == "draining"
    present = {model.id for model in status.models}
    others = tuple(Item(id, Load(id)) for id in model_ids if id not in present)
    return [
        *(_model(model) for model in status.models),
        Item("Load", items=() if is_draining else others),
    ]


def _model(model: Model) -> Item:
    if model.loading is not None:
        words = f"{model.id}: loading, {model.loading.progress:.0%}"
        return Item(words, items=(Item("Stop Loading", Unload(model.id)),))
    facts = [in_words(model.memory_bytes)]
    facts += [f"{model.num_running} running"] if model.num_running else []
    facts += [f"{model.num_waiting} waiting"] if model.num_waiting else []
    words = f"{model.id}: {', '.join(facts)}"
    if model.state == "unloading":
        return Item(f"{words}, unloading")
    return Item(words, items=(Item(_stay(model)), Item("Unload", Unload(model.id))))


def _stay(model: Model) -> str:
    """How long it would stay if nobody asked it any more."""
    if model.pinned:
        return "Stays until it is unloaded"
    if model.expires_in_s is None:
        return "Stays until its memory is needed"
    left = timedelta(minutes=max(1, round(model.expires_in_s / 60)))
    return f"Stays {str(left)[:-3]} h when nobody asks it"


# --- what can be done -----------------------------------------------------------------------------


def _offers(status: Status) -> list[Item | None]:
    key = "Copy Key (the default one)" if status.has_default_key else "Copy Key"
    switch = Item("Pause", Deed.PAUSE)
    if status.state == "paused":
        switch = Item("Resume", Deed.RESUME)
    elif status.state == "draining":
        switch = Item("Pause")
    return [
        Item("Open Chat Page", Deed.OPEN_CHAT),
        Item("Copy Endpoint", Deed.COPY_ENDPOINT),
        Item(key, Deed.COPY_KEY),
        None,
        switch,
    ]


def _login(is_on: bool | None) -> Item:
    if is_on is None:
        return Item("Start at Login")
    deed = Deed.NOT_START_AT_LOGIN if is_on else Deed.START_AT_LOGIN
    return Item("Start at Login", deed, is_checked=is_on)
