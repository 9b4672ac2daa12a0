"""Stands for rumps 0.4.0 where there is no Mac: of its classes what the menu bar uses, as they are.

What is odd here is odd there: of two items with one title both are shown, and the second is found
by it; an item's key stays what its title was when it was added; `set_callback` takes an item its
menu; errors in callbacks are printed, and the program goes on. `test_rumps` holds it against the
real source.

What a person at a Mac would do and see is below: `tick`, `click`, `seen`.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

separator = object()

timers: list["Timer"] = []  # that run
errors: list[Exception] = []  # of callbacks
running: list["App"] = []
_quit: list[object] = []


class SeparatorMenuItem:
    """A line."""

    _menuitem = True


class Menu(dict[str, Any]):
    def __init__(self) -> None:
        super().__init__()
        self._shown: list[Any] = []  # NSMenu's: what a person sees
        self._num_separators = 0

    def add(self, menuitem: Any) -> None:
        if menuitem is None or menuitem is separator:
            self._num_separators += 1
            key, menuitem = f"SeparatorMenuItem_{self._num_separators}", SeparatorMenuItem()
        else:
            if not hasattr(menuitem, "_menuitem"):
                menuitem = MenuItem(menuitem)
            key = menuitem.title
        self._shown.append(menuitem)
        self[key] = menuitem

    def clear(self) -> None:
        self._shown.clear()
        super().clear()


class MenuItem(Menu):
    _menuitem = True

    def __init__(
        self,
        title: Any,
        callback: Callable[[Any], Any] | None = None,
        key: str | None = None,
        icon: str | None = None,
        dimensions: Any = None,
        template: Any = None,
    ) -> None:
        super().__init__()
        self._title = str(title)
        self._state = 0
        self._action: str | None = None  # NSMenuItem's: what enables it
        self._has_menu = False
        self.set_callback(callback, key)

    def add(self, menuitem: Any) -> None:
        if not self._has_menu:
            self._has_menu, self._action = True, "submenuAction:"  # as setSubmenu: does
        super().add(menuitem)

    @property
    def title(self) -> str:
        return self._title

    @title.setter
    def title(self, new_title: Any) -> None:
        self._title = str(new_title)

    @property
    def state(self) -> int:
        return self._state

    @state.setter
    def state(self, new_state: int) -> None:
        self._state = new_state

    def set_callback(self, callback: Callable[[Any], Any] | None, key: str | None = None) -> None:
        if not (key is None or isinstance(key, str)):
            raise TypeError(f"a string or None is required but given {key}")
        self._callback = callback
        self._action = "callback:" if callback is not None else None

    @property
    def callback(self) -> Callable[[Any], Any] | None:
        return self._callback


class Timer:
    def __init__(self, callback: Callable[[Any], Any], interval: float) -> None:
        self._callback = callback
        self.interval = interval

    def is_alive(self) -> bool:
        return self in timers

    def start(self) -> None:
        if self not in timers:
            self._next = time.monotonic()  # at once, and then every interval
            timers.append(self)

    def stop(self) -> None:
        if self in timers:
            timers.remove(self)


class App:
    def __init__(
        self,
        name: str,
        title: str | None = None,
        icon: str | None = None,
        template: Any = None,
        menu: Any = None,
        quit_button: str | None = "Quit",
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a string is required but given {name}")
        self._name = name
        self.title = title
        self.quit_button = None if quit_button is None else MenuItem(quit_button)
        self._menu = Menu()

    @property
    def title(self) -> str | None:
        return self._title

    @title.setter
    def title(self, title: str | None) -> None:
        if not (title is None or isinstance(title, str)):
            raise TypeError(f"a string or None is required but given {title}")
        self._title = title

    @property
    def menu(self) -> Menu:
        return self._menu

    def run(self, **options: Any) -> None:
        """The run loop. Here it returns; AppKit's `terminate:` ends the process."""
        running.append(self)
        if self.quit_button is not None:
            self.quit_button.set_callback(quit_application)
            self._menu.add(self.quit_button)
        while not _quit:
            turn()
            time.sleep(0.01)


def quit_application(sender: Any = None) -> None:
    _quit.append(sender)


# --- a person at the Mac --------------------------------------------------------------------------


def turn() -> None:
    """The run loop comes round once: timers that are due call back."""
    now = time.monotonic()
    for timer in list(timers):
        if timer._next <= now:
            timer._next = now + timer.interval
            _call(timer._callback, timer)


def tick() -> None:
    """All timers call back, for those who need not wait."""
    for timer in list(timers):
        _call(timer._callback, timer)


def click(menu: Menu, *titles: str) -> None:
    """The item that these titles lead to: each is shown, the last is not grey."""
    item: Menu = menu
    for title in titles:
        item = next(shown for shown in _items(item) if shown.title.startswith(title))
        assert isinstance(item, MenuItem) and item._action is not None, f"{item.title} is grey"
    assert isinstance(item, MenuItem) and item._action == "callback:"
    assert item.callback is not None
    _call(item.callback, item)


def seen(menu: Menu, depth: int = 0) -> str:
    """What is read when the menu is opened: a line each; grey ones in brackets."""
    lines = []
    for item in menu._shown:
        if isinstance(item, SeparatorMenuItem):
            lines.append("---")
            continue
        mark = "✓ " if item.state else ""
        words = item.title if item._action is not None else f"({item.title})"
        lines.append("  " * depth + mark + words)
        lines += [seen(item, depth + 1)] if item else []
    return "\n".join(lines)


def _items(menu: Menu) -> Iterator[MenuItem]:
    return (item for item in menu._shown if isinstance(item, MenuItem))


def _call(callback: Callable[[Any], Any], sender: Any) -> None:
    try:
        callback(sender)
    except Exception as error:
        errors.append(error)
        traceback.print_exc()
