"""The server, as the menu bar asks it: over HTTP, and by nothing else. Every call waits."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from scripts.remote import message_of

from .trouble import Refused, Unreachable, WrongKey

Answer = TypeVar("Answer")

_LOOK_S = 5.0  # for a server on this machine, which answers whatever its models do
_FOR_EVER = httpx.Timeout(None, connect=_LOOK_S)  # a load takes as long as the disk needs


class Loading(msgspec.Struct, frozen=True):
    """How a load comes on, from 0 to 1."""

    progress: float


class Model(msgspec.Struct, frozen=True):
    """One in memory, or on its way there."""

    id: str
    state: str  # "loaded", "loading", "unloading"
    memory_bytes: int = 0
    num_running: int = 0
    num_waiting: int = 0
    pinned: bool = False
    expires_in_s: float | None = None  # None: it stays
    loading: Loading | None = None


class Memory(msgspec.Struct, frozen=True):
    """What all models hold, and may hold."""

    held_bytes: int
    limit_bytes: int


class Status(msgspec.Struct, frozen=True):
    """GET /v1/status, as far as a menu shows it."""

    state: str  # "ready", "paused", "draining", "no model can answer"
    version: str
    has_default_key: bool
    tokens_per_second: float
    memory: Memory
    models: tuple[Model, ...]

    @property
    def is_busy(self) -> bool:
        """Whether there will be something else to see in a moment."""
        return self.tokens_per_second > 0 or any(
            model.state != "loaded" or model.num_running or model.num_waiting
            for model in self.models
        )


class _Named(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Named]


class Server:
    """May be asked by several threads at once. All raise Unreachable, WrongKey and Refused."""

    def __init__(self, url: str, key: str, key_now: Callable[[], str] | None = None) -> None:
        """`key_now` tells the key that is kept: a server that starts anew may have another one."""
        self.url = url.rstrip("/")
        self.key = key
        self._key_now = key_now
        self._http = httpx.Client(
            timeout=_LOOK_S,
            trust_env=False,  # no proxy of the environment: the key is for this server alone
        )

    def close(self) -> None:
        self._http.close()

    @property
    def endpoint(self) -> str:
        """What OpenAI's clients take as `base_url`."""
        return f"{self.url}/v1"

    def status(self) -> Status:
        return self._ask("GET", "status", Status)

    def model_ids(self) -> tuple[str, ...]:
        """Those that could be loaded, or are."""
        return tuple(model.id for model in self._ask("GET", "models", _List).data)

    def load(self, model_id: str) -> None:
        """Returns when it is in memory."""
        self._ask("POST", "models", _Named, body={"model": model_id}, timeout=_FOR_EVER)

    def unload(self, model_id: str) -> None:
        """Returns when it is gone, after its running requests; a load in flight is cancelled."""
        self._ask("DELETE", f"models/{quote(model_id, safe='')}", _Named, timeout=_FOR_EVER)

    def pause(self) -> None:
        self._ask("POST", "pause", Status)

    def resume(self) -> None:
        self._ask("POST", "resume", Status)

    def _ask(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        body: dict[str, str] | None = None,
        timeout: httpx.Timeout | float = _LOOK_S,
    ) -> Answer:
        response = self._send(method, path, body, timeout)
        if response.status_code == 401 and self._has_another_key():
            response = self._send(method, path, body, timeout)
        if response.status_code == 401:
            raise WrongKey(f"The server at {self.url} wants another key.")
        if response.is_error:
            raise Refused(message_of(response.status_code, response.content))
        try:
            return msgspec.json.decode(response.content, type=answer)
        except msgspec.DecodeError as error:
            raise Refused(f"What answers at {self.url} is no mlx-edge of this version.") from error

    def _has_another_key(self) -> bool:
        """Whether there is one now that was not tried."""
        if self._key_now is None or (key := self._key_now()) == self.key:
            return False
        self.key = key
        return True

    def _send(
        self, method: str, path: str, body: dict[str, str] | None, timeout: httpx.Timeout | float
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            return self._http.request(
                method, f"{self.endpoint}/{path}", json=body, headers=headers, timeout=timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"No server answers at {self.url} ({error}).") from error
        except RuntimeError as error:  # of httpx, when `close` came first: the menu bar quits
            raise Unreachable("Nobody asks any more.") from error
