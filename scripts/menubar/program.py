"""The menu bar's program without its window: it looks at the server, and does what is clicked."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias

from .desktop import Desktop
from .login_item import LoginItem
from .menu import Action, Deed, Load, Menu, Seen, Unload, menu_of
from .server import Server, Status
from .trouble import Trouble

logger = logging.getLogger(__name__)

_BUSY_S = 1.0  # between two looks while something goes on, or was clicked
_IDLE_S = 5.0  # while nothing happens, or nobody answers
_LIST_S = 60.0  # models come to the disk seldom, and are asked for by name


@dataclass(frozen=True, slots=True)
class _Looked:
    status: Status | None
    trouble: Trouble | None = None
    model_ids: tuple[str, ...] | None = None  # None: not asked for


@dataclass(frozen=True, slots=True)
class _Did:
    failure: str | None


@dataclass(frozen=True, slots=True)
class _AskedLogin:
    starts_at_login: bool | None


_News: TypeAlias = _Looked | _Did | _AskedLogin


class Program:
    """`tick` and `do` belong to the main thread and never wait: what takes time has a thread of its
    own, and its outcome is taken in by the next tick."""

    def __init__(
        self,
        server: Server,
        desktop: Desktop,
        login_item: LoginItem,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._desktop = desktop
        self._login_item = login_item
        self._clock = clock
        self._seen = Seen(server.url)
        self._news: SimpleQueue[_News] = SimpleQueue()
        self._is_looking = False
        self._num_doing = 0
        self._next_look = self._next_list = clock()
        self._start(self._ask_login)

    def tick(self) -> Menu:
        """Take in what came, look at the server if it is time to. Call it about once a second."""
        while (news := self._next()) is not None:
            self._take(news)
        if not self._is_looking and self._clock() >= self._next_look:
            self._begin_look()
        return menu_of(self._seen)

    def do(self, action: Action) -> None:
        """What was clicked. If it fails, the menu says why until something else is clicked."""
        self._seen = replace(self._seen, failure=None)
        self._num_doing += 1
        self._next_look = self._clock()
        self._start(lambda: self._carry_out(action))

    # --- on the main thread ---------------------------------------------------------------------

    def _next(self) -> _News | None:
        try:
            return self._news.get_nowait()
        except Empty:
            return None

    def _begin_look(self) -> None:
        """Whoever wants one from now on wants another: this one may have seen what was before."""
        now = self._clock()
        self._is_looking, self._next_look = True, math.inf
        if lists := now >= self._next_list:
            self._next_list = now + _LIST_S
        self._start(lambda: self._look(lists))

    def _take(self, news: _News) -> None:
        now = self._clock()
        match news:
            case _Looked(status, trouble, model_ids):
                self._is_looking = False
                is_busy = self._num_doing > 0 or (status is not None and status.is_busy)
                self._next_look = min(self._next_look, now + (_BUSY_S if is_busy else _IDLE_S))
                if trouble is not None:  # what was not told is asked for again
                    self._next_list = now
                if model_ids is not None:
                    self._seen = replace(self._seen, model_ids=model_ids)
                self._seen = replace(self._seen, status=status, trouble=trouble)
            case _Did(failure):
                self._num_doing -= 1
                self._next_look = self._next_list = now
                if failure is not None:
                    self._seen = replace(self._seen, failure=failure)
            case _AskedLogin(starts_at_login):
                self._seen = replace(self._seen, starts_at_login=starts_at_login)

    def _start(self, work: Callable[[], _News]) -> None:
        """Daemons: quitting waits for none of them."""
        Thread(target=lambda: self._news.put(work()), daemon=True).start()

    # --- on a thread ----------------------------------------------------------------------------

    def _look(self, lists: bool) -> _News:
        try:
            return _Looked(self._server.status(), None, self._server.model_ids() if lists else None)
        except Trouble as trouble:
            return _Looked(None, trouble)

    def _carry_out(self, action: Action) -> _News:
        try:
            self._do(action)
        except Trouble as trouble:
            return _Did(str(trouble))
        except Exception as error:  # a bug of ours shall not leave the menu waiting
            logger.exception("%s failed", action)
            return _Did(f"{type(error).__name__}: {error}")
        return _Did(None)

    def _do(self, action: Action) -> None:
        match action:
            case Load(model_id):
                self._server.load(model_id)
            case Unload(model_id):
                self._server.unload(model_id)
            case Deed.PAUSE:
                self._server.pause()
            case Deed.RESUME:
                self._server.resume()
            case Deed.OPEN_CHAT:
                self._desktop.open(f"{self._server.url}/")
            case Deed.COPY_ENDPOINT:
                self._desktop.copy(self._server.endpoint)
            case Deed.COPY_KEY:
                self._desktop.copy(self._server.key)
            case Deed.START_AT_LOGIN | Deed.NOT_START_AT_LOGIN:
                is_on = action is Deed.START_AT_LOGIN
                (self._login_item.turn_on if is_on else self._login_item.turn_off)()
                self._news.put(self._ask_login())
            case Deed.QUIT:
                raise AssertionError("the window quits, not the program behind it")

    def _ask_login(self) -> _AskedLogin:
        try:
            return _AskedLogin(self._login_item.is_on())
        except Trouble as trouble:
            logger.info("whether the menu bar starts at login is not known: %s", trouble)
            return _AskedLogin(None)
