"""A small hub and its CDN on loopback, for tests: serves repositories, misbehaves on command.

    with HubServer() as hub:                        # runs in a thread of its own, so it serves
        commit = hub.add_repo("org/tiny", {         # sync tests, async tests and subprocesses
            "config.json": b"{}",
            "model.safetensors": Path("model.safetensors"),    # bytes, or a file to send
        }, licence="mit")
        url = hub.add_file("a.gguf", b"GGUF...")    # a plain URL, no repository
        hub.misbehave("model.safetensors", Truncate(after=1000), times=1)
        ...
        assert hub.requests[-1].headers["range"] == "bytes=1000-"

- `hub.url` (http://127.0.0.1:PORT) is what HF_ENDPOINT takes. As with the real one, weights (and
  whatever `lfs` names) have a sha256 and are redirected to `hub.cdn_url` (http://localhost:OTHER),
  another host. Both must be in `allowed_private_hosts`: `hub.hosts`.
- `add_repo` again with the same name is a new commit; "main" moves on, old commits stay.
  `gated=True` refuses the files to all but `Authorization: Bearer {hub.token}`.
- A fault applies to the next `times` requests (None: all) whose path ends with the given text, in
  the order given. Status and Redirect strike at the first hop unless `on="cdn"`; the others where
  the body is sent. Metadata is a body as well: `/api/models/REPO`, or `/revision/main` behind it.
- `hub.requests` are all requests in order; `hub.bytes_sent(name)` counts body bytes per file.
- `Slow` and `Stall` leave time to cancel or kill; `hub.wait_for(name)` returns when a body of that
  name has been begun, and a Stall ends with the server at the latest.
"""

import asyncio
import threading

from tests.hub.hub import Hub, Seen
from tests.hub.hub_faults import (
    ChangeETag,
    Corrupt,
    Endless,
    Fault,
    IgnoreRange,
    NoValidators,
    Redirect,
    RefuseRange,
    Reset,
    ShortRange,
    Slow,
    Stall,
    Status,
    Truncate,
    WithHeaders,
    WrongLength,
    WrongRange,
)
from tests.hub.hub_handler import Handler

__all__ = [
    "ChangeETag", "Corrupt", "Endless", "Fault", "HubServer", "IgnoreRange", "NoValidators",
    "Redirect", "RefuseRange", "Reset", "Seen", "ShortRange", "Slow", "Stall", "Status",
    "Truncate", "WithHeaders", "WrongLength", "WrongRange",
]  # fmt: skip


class HubServer(Hub):
    """A hub that runs. Use as a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)

    def __enter__(self) -> "HubServer":
        self._thread.start()
        if not self._started.wait(10):
            raise AssertionError("the hub did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        servers = []
        for at in ("hub", "cdn"):
            server = await asyncio.start_server(Handler(self, at), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            if at == "hub":
                self.url = f"http://127.0.0.1:{port}"
            else:
                self.cdn_url = f"http://localhost:{port}"
            servers.append(server)
        self._started.set()
        await self._stopped.wait()
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
