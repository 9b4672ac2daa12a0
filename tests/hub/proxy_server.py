"""A proxy on loopback, for tests: names that nobody can resolve lead where the test says.

    with ProxyServer({"hub.example": hub.url}) as proxy:
        proxy.url                                  # what HTTPS_PROXY takes
        proxy.seen[0]                              # ("CONNECT", "hub.example:443", None)

Plain http is forwarded. Of CONNECT the proxy plays the far end, with `certificate`, and hands what
it reads on to the http address of the name. `answer` ("407 Proxy Authentication Required") is what
it says to everything; "" is nothing at all, for ever.
"""

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from tests.hub.certificate import Certificate


class ProxyServer:
    """A proxy that runs in a thread of its own. Use as a context manager."""

    def __init__(
        self,
        names: Mapping[str, str],
        certificate: Certificate | None = None,
        *,
        answer: str | None = None,
    ) -> None:
        self.seen: list[tuple[str, str, str | None]] = []  # method, target, Proxy-Authorization
        self.port = 0
        self._names = names
        self._certificate = certificate
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "ProxyServer":
        self._thread.start()
        if not self._started.wait(10):
            raise AssertionError("the proxy did not start")
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
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (
            contextlib.closing(writer),
            suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError),
        ):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split("\r\n")[0].split(" ")
            fields = (line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            headers = {name.lower(): value for name, value in fields}
            self.seen.append((method, target, headers.get("proxy-authorization")))
            if self._answer == "":
                await self._stopped.wait()
            elif self._answer is not None:
                writer.write(f"HTTP/1.1 {self._answer}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
            elif method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                assert self._certificate is not None
                await writer.start_tls(self._certificate.served())
                await self._relay(target.rpartition(":")[0], b"", reader, writer)
            else:
                parts = urlsplit(target)
                path = target.removeprefix(f"{parts.scheme}://{parts.netloc}")
                first = head.replace(target, path, 1).encode("latin-1")
                await self._relay(str(parts.hostname), first, reader, writer)
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _relay(
        self,
        name: str,
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Hand on what comes from either side, until the far one has no more to say."""
        to = urlsplit(self._names[name])
        far_reader, far_writer = await asyncio.open_connection(to.hostname, to.port)
        far_writer.write(first)

        async def hand_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while piece := await source.read(65536):
                    target.write(piece)
                    await target.drain()

        asking = asyncio.create_task(hand_on(reader, far_writer))
        try:
            await hand_on(far_reader, writer)
        finally:
            asking.cancel()
            far_writer.close()
            with suppress(OSError):
                await far_writer.wait_closed()
