"""Tests of scripts.menubar.menu: what is shown of each state, and that it says what to do."""

import dataclasses

import pytest
from msgspec.structs import replace

from scripts.menubar.menu import Deed, Item, Load, Menu, Seen, Unload, menu_of
from scripts.menubar.server import Loading, Memory, Model, Status
from scripts.menubar.trouble import Refused, Trouble, Unreachable, WrongKey

_URL = "http://127.0.0.1:8083"
_GB = 1 << 30
_IDLE = Status("ready", "1.2.3", False, 0.0, Memory(0, 10 * _GB), ())
_SMALL = Model("small", "loaded", 700 << 20, expires_in_s=1700)


def seen(status: Status | None = _IDLE, **more: object) -> Seen:
    return dataclasses.replace(Seen(_URL, status, model_ids=("small", "large")), **more)  # type: ignore[arg-type]


def words(menu: Menu) -> list[str]:
    return [item.words for item in menu.items if item is not None]


def find(items: tuple[Item | None, ...], start: str) -> Item:
    (item,) = [item for item in items if item is not None and item.words.startswith(start)]
    return item


def test_a_server_at_rest() -> None:
    """A full sign and no number; all models can be loaded, all can be copied and clicked."""
    menu = menu_of(seen(starts_at_login=False))
    assert menu.title == "◆"
    assert words(menu) == [
        "mlx-edge 1.2.3 is ready",
        "0 MB of 10.0 GB for models in use",
        "Load",
        "Open Chat Page",
        "Copy Endpoint",
        "Copy Key",
        "Pause",
        "Start at Login",
        "Quit Menu Bar (the server goes on)",
    ]
    assert find(menu.items, "Load").items == (
        Item("small", Load("small")),
        Item("large", Load("large")),
    )
    assert find(menu.items, "mlx-edge").action is None


def test_a_server_at_work() -> None:
    """The bar has the speed of now; a model says what it takes, does, and how long it stays."""
    busy = replace(_SMALL, num_running=2, num_waiting=1)
    memory = Memory(700 << 20, 10 * _GB)
    menu = menu_of(seen(replace(_IDLE, tokens_per_second=38.4, memory=memory, models=(busy,))))
    assert menu.title == "◆ 38 tok/s"
    assert words(menu)[1] == "700 MB of 10.0 GB for models in use, 38 tok/s"
    model = find(menu.items, "small")
    assert model.words == "small: 700 MB, 2 running, 1 waiting" and model.action is None
    assert model.items == (
        Item("Stays 0:28 h when nobody asks it"),
        Item("Unload", Unload("small")),
    )
    assert find(menu.items, "Load").items == (Item("large", Load("large")),)


def test_a_prompt_that_is_read_is_work_too() -> None:
    """Nothing is drawn yet, so there is no number."""
    menu = menu_of(seen(replace(_IDLE, models=(replace(_SMALL, num_running=1),))))
    assert menu.title == "◆ …"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (replace(_SMALL, pinned=True), "Stays until it is unloaded"),
        (replace(_SMALL, expires_in_s=None), "Stays until its memory is needed"),
        (replace(_SMALL, expires_in_s=0.0), "Stays 0:01 h when nobody asks it"),
        (replace(_SMALL, expires_in_s=5400.0), "Stays 1:30 h when nobody asks it"),
    ],
)
def test_how_long_a_model_stays(model: Model, told: str) -> None:
    menu = menu_of(seen(replace(_IDLE, models=(model,))))
    first = find(menu.items, "small").items[0]
    assert first is not None and first.words == told


def test_a_load_shows_its_progress_and_can_be_stopped() -> None:
    """Of several the one that has farthest to go is in the bar."""
    models = (
        Model("small", "loading", loading=Loading(0.9)),
        Model("large", "loading", loading=Loading(0.41)),
    )
    menu = menu_of(seen(replace(_IDLE, models=models)))
    assert menu.title == "◈ 41%"
    item = find(menu.items, "large")
    assert item.words == "large: loading, 41%"
    assert item.items == (Item("Stop Loading", Unload("large")),)
    assert find(menu.items, "Load").items == ()


def test_a_model_on_its_way_out_is_left_alone() -> None:
    item = find(
        menu_of(seen(replace(_IDLE, models=(replace(_SMALL, state="unloading"),)))).items, "small"
    )
    assert item == Item("small: 700 MB, unloading")


def test_a_pause_can_be_lifted_and_models_be_loaded_in_it() -> None:
    menu = menu_of(seen(replace(_IDLE, state="paused")))
    assert menu.title == "◇ paused"
    assert words(menu)[0].endswith("is paused: what runs goes on, new requests are refused")
    assert find(menu.items, "Resume").action is Deed.RESUME and "Pause" not in words(menu)
    assert find(menu.items, "Load").items


def test_a_server_that_shuts_down_is_asked_for_nothing() -> None:
    menu = menu_of(seen(replace(_IDLE, state="draining")))
    assert menu.title == "◇ stopping" and words(menu)[0].endswith("is shutting down")
    assert find(menu.items, "Pause").action is None
    assert find(menu.items, "Load").items == ()


@pytest.mark.parametrize(
    ("state", "title", "told"),
    [
        ("no model can answer", "◇ no model", "its log says why"),
        ("of a later version", "◆", "says: of a later version"),
    ],
)
def test_other_states(state: str, title: str, told: str) -> None:
    menu = menu_of(seen(replace(_IDLE, state=state)))
    assert menu.title == title and told in words(menu)[0]


@pytest.mark.parametrize(
    ("trouble", "title", "told"),
    [
        (None, "◇ …", "Looking for the server at http://127.0.0.1:8083"),
        (Unreachable("refused"), "◇ off", "Start it with `mlx-edge serve`"),
        (WrongKey("no"), "◇ key", "Start the menu bar with --api-key, or set MLX_EDGE_API_KEY"),
        (Refused("What answers there is no mlx-edge."), "◇ ?", "is no mlx-edge"),
    ],
)
def test_without_an_answer_it_says_what_to_do(
    trouble: Trouble | None, title: str, told: str
) -> None:
    """And offers nothing that needs one; it can always be quit."""
    menu = menu_of(seen(None, trouble=trouble))
    assert menu.title == title and any(told in line for line in words(menu))
    assert not {"Load", "Pause", "Copy Key"} & set(words(menu))
    assert find(menu.items, "Quit").action is Deed.QUIT
    assert ("Open Chat Page" in words(menu)) is isinstance(trouble, WrongKey)


def test_a_failure_is_told_in_lines_that_can_be_read() -> None:
    """Beside what is known of the server, which goes on."""
    failure = "Loading 'large' needs 40.00 GB, but only 10.00 GB of memory are free. " * 2
    lines = words(menu_of(seen(failure=failure)))
    told = lines[2 : lines.index("Load")]
    assert " ".join(told) == f"⚠ {failure.strip()}" and max(map(len, told)) <= 70


@pytest.mark.parametrize(
    ("is_on", "expected"),
    [
        (None, Item("Start at Login")),
        (False, Item("Start at Login", Deed.START_AT_LOGIN)),
        (True, Item("Start at Login", Deed.NOT_START_AT_LOGIN, is_checked=True)),
    ],
)
def test_start_at_login_is_a_switch_where_it_is_known(is_on: bool | None, expected: Item) -> None:
    assert find(menu_of(seen(starts_at_login=is_on)).items, "Start at Login") == expected


def test_the_default_key_is_called_that() -> None:
    """Whoever copies it shall know that everybody has it."""
    menu = menu_of(seen(replace(_IDLE, has_default_key=True)))
    assert find(menu.items, "Copy Key").words == "Copy Key (the default one)"
