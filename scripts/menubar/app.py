"""The program in the menu bar: its menus as rumps has them, changed in place."""

from collections.abc import Iterable, Iterator

from .menu import Action, Deed, Item, Menu
from .program import Program
from .toolkit import Clicked, MainMenu, MenuItem, Rumps

_TICK_S = 1.0


class MenuBar:
    """Belongs to the main thread."""

    def __init__(self, rumps: Rumps, program: Program) -> None:
        self._rumps = rumps
        self._program = program
        self._app = rumps.App("mlx-edge", quit_button=None)
        self._timer = rumps.Timer(self._tick, _TICK_S)
        self._shown = Menu("", ())
        self._made: list[MenuItem] = []  # for the items that are shown, in the order of `_flat`

    def run(self) -> None:
        """Until it is quit."""
        self._timer.start()
        self._app.run()

    def _tick(self, _: object) -> None:
        self._show(self._program.tick())

    def _show(self, menu: Menu) -> None:
        """rumps remembers every item that it ever made, so new ones are made only where the menu
        has another shape; else the old ones get new words."""
        if menu.title != self._shown.title:
            self._app.title = menu.title
        if _shape(menu.items) != _shape(self._shown.items):
            self._app.menu.clear()
            self._made = []
            self._add(self._app.menu, menu.items)
        else:
            for made, item, old in zip(
                self._made, _flat(menu.items), _flat(self._shown.items), strict=True
            ):
                self._change(made, item, old)
        self._shown = menu

    def _add(self, parent: MainMenu | MenuItem, items: Iterable[Item | None]) -> None:
        for item in items:
            if item is None:
                parent.add(None)
                continue
            made = self._rumps.MenuItem(item.words)
            made.set_callback(self._callback(item.action))
            made.state = int(item.is_checked)
            self._made.append(made)
            parent.add(made)
            self._add(made, item.items)

    def _change(self, made: MenuItem, item: Item, old: Item) -> None:
        if item.words != old.words:
            made.title = item.words
        if item.action != old.action:
            made.set_callback(self._callback(item.action))
        if item.is_checked != old.is_checked:
            made.state = int(item.is_checked)

    def _callback(self, action: Action | None) -> Clicked | None:
        if action is None:
            return None
        if action is Deed.QUIT:
            return lambda _: self._rumps.quit_application()
        return lambda _: self._program.do(action)


def _shape(items: Iterable[Item | None]) -> list[object]:
    """What is where, whatever it says. An item with a menu does nothing else, and keeps it."""
    return [None if item is None else _shape(item.items) for item in items]


def _flat(items: Iterable[Item | None]) -> Iterator[Item]:
    """Each item, and then those of its menu."""
    for item in items:
        if item is not None:
            yield item
            yield from _flat(item.items)
