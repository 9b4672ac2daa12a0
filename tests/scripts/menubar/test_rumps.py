"""The stand-in for rumps against the real source: the same signatures, the same oddities.

PyObjC is on Macs only, so the real classes rest on a few lines that stand for its frameworks.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.packages import unpacked

pytestmark = pytest.mark.slow


class _Cocoa:
    """Any object of Objective-C: it can be made, and takes every message."""

    @classmethod
    def alloc(cls) -> Any:
        return cls()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self


class _NSMenuItem(_Cocoa):
    """As NSMenuItem.h has it: a menu of its own becomes what the item does."""

    words, number, action = "", 0, None

    @classmethod
    def separatorItem(cls) -> Any:
        return cls()

    def initWithTitle_action_keyEquivalent_(self, title: str, action: Any, key: str) -> Any:
        self.words = title
        return self

    def title(self) -> str:
        return self.words

    def setTitle_(self, title: str) -> None:
        self.words = title

    def state(self) -> int:
        return self.number

    def setState_(self, state: int) -> None:
        self.number = state

    def setAction_(self, action: str | None) -> None:
        self.action = action

    def setSubmenu_(self, menu: Any) -> None:
        self.action = "submenuAction:"


class _NSMenu(_Cocoa):
    """As NSMenu.h has it."""

    def init(self) -> Any:
        self.items: list[Any] = []
        return self

    def addItem_(self, item: Any) -> None:
        self.items.append(item)

    def removeAllItems(self) -> None:
        self.items.clear()


class _Framework(ModuleType):
    """Has whatever is imported from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return {"NSMenuItem": _NSMenuItem, "NSMenu": _NSMenu}.get(name, _Cocoa)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """rumps 0.4.0 itself."""
    folder = unpacked("rumps", "0.4.0", is_source=True)
    for name in ("Foundation", "AppKit", "PyObjCTools", "objc"):
        monkeypatch.setitem(sys.modules, name, _Framework(name))
    monkeypatch.syspath_prepend(str(folder / "rumps-0.4.0"))
    before = set(sys.modules)
    module = importlib.import_module("rumps.rumps")
    monkeypatch.setattr(module, "application_support", lambda _: "")  # makes a folder
    yield module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults."""
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found]


@pytest.mark.parametrize(
    "path",
    [
        "App.__init__",
        "App.run",
        "Menu.add",
        "Menu.clear",
        "MenuItem.__init__",
        "MenuItem.set_callback",
        "Timer.__init__",
        "Timer.is_alive",
        "Timer.start",
        "Timer.stop",
        "quit_application",
    ],
)
def test_signatures(real: Any, rumps: Any, path: str) -> None:
    def found(module: Any) -> Any:
        for name in path.split("."):
            module = getattr(module, name)
        return module

    assert _parameters(found(rumps)) == _parameters(found(real))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("App", "title"), ("App", "menu"), ("MenuItem", "title"), ("MenuItem", "state")],
)
def test_properties(real: Any, rumps: Any, kind: str, name: str) -> None:
    """What can be set there can be set here, and nothing else."""
    ours, theirs = (inspect.getattr_static(getattr(m, kind), name) for m in (rumps, real))
    assert isinstance(theirs, property)
    if (kind, name) != ("App", "menu"):  # which we only read
        assert (ours.fset is None) == (theirs.fset is None)


def test_menus_behave_alike(real: Any, rumps: Any) -> None:
    """The same is done to both, and both tell the same after it."""

    def told(
        module: Any, action: Callable[[Any], str | None], num_shown: Callable[[Any], int]
    ) -> list[Any]:
        told: list[Any] = []

        def tell() -> None:
            told.append([(key, getattr(item, "title", None)) for key, item in app.menu.items()])
            told.append(num_shown(app.menu))

        app = module.App("x", quit_button=None)
        first, second, same = (module.MenuItem(title) for title in ("first", "second", "first"))
        app.menu.add(first)
        app.menu.add(None)
        app.menu.add(second)
        app.menu.add(same)  # both are shown
        app.menu.add(module.separator)
        tell()
        first.title = 7
        first.state = 1
        told.append((first.title, first.state, second.state))
        tell()  # its key stays
        told.append(action(second))
        second.set_callback(print)
        told.append((action(second), second.callback is print))
        second.set_callback(None)
        told.append((action(second), second.callback))
        second.add(module.MenuItem("below"))
        told.append((action(second), list(second)))
        second.set_callback(None)  # takes it its menu
        told.append(action(second))
        app.menu.clear()
        tell()
        app.menu.add(first)
        tell()
        for wrong in (lambda: second.set_callback(None, 7), lambda: setattr(app, "title", 7)):
            with pytest.raises(TypeError):
                wrong()
        app.title = "shown"
        told.append((app.title, bool(app.quit_button)))
        return told

    ours = told(rumps, lambda item: item._action, lambda menu: len(menu._shown))
    theirs = told(real, lambda item: item._menuitem.action, lambda menu: len(menu._menu.items))
    assert ours == theirs
