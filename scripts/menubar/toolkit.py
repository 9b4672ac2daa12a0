"""What is used of rumps 0.4 and of AppKit, as types: both are on Macs only, and neither has any."""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Protocol, cast

NEEDED = "The menu bar needs rumps: install it with `pip install 'mlx-edge[menubar]'`."

Clicked = Callable[[Any], None]  # told of the MenuItem, or of the Timer


class NoToolkit(Exception):
    """There is no rumps here; says what to do."""


class MenuItem(Protocol):
    """Grey while it has no callback and no menu of its own."""

    title: str
    state: int  # 1: it has a check mark

    def add(self, menuitem: "MenuItem | None", /) -> None:
        """Below it in a menu of its own; None is a line that separates."""

    def set_callback(self, callback: Clicked | None, /) -> None:
        """Never of an item that has a menu: that is the item's action then, and would be lost."""


class MainMenu(Protocol):
    """What a click on the bar opens."""

    def add(self, menuitem: MenuItem | None, /) -> None: ...

    def clear(self) -> None: ...


class App(Protocol):
    """All of it belongs to the main thread."""

    title: str | None

    @property
    def menu(self) -> MainMenu: ...

    def run(self) -> None:
        """Returns when the program quits, if at all: AppKit's `terminate:` ends the process."""


class Timer(Protocol):
    """Calls back on the main thread at once and then every interval, but while a menu is open:
    it runs in the run loop's default mode, and an open menu in another."""

    def start(self) -> None: ...


class Rumps(Protocol):
    """The module."""

    def App(self, name: str, /, *, quit_button: None) -> App: ...

    def MenuItem(self, title: str, /) -> MenuItem: ...

    def Timer(self, callback: Clicked, interval: float, /) -> Timer: ...

    def quit_application(self) -> None: ...


def load() -> Rumps:
    """Imports rumps. Raises NoToolkit."""
    try:
        return cast(Rumps, importlib.import_module("rumps"))
    except ImportError as error:
        if sys.platform != "darwin":
            raise NoToolkit(
                "The menu bar is for macOS; here, `mlx-edge ps` shows the models in memory."
            ) from error
        raise NoToolkit(NEEDED) from error


def stay_out_of_dock() -> None:
    """No icon in the Dock and no menu at the left: NSApplicationActivationPolicyAccessory, which
    is 1 in NSRunningApplication.h. PyObjC, which rumps brings, has it in AppKit.
    """
    appkit = importlib.import_module("AppKit")
    appkit.NSApplication.sharedApplication().setActivationPolicy_(1)
