"""What a program and the server say to each other: a relay between them that writes it down."""

import json
import threading
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP_BY_HOP = ("connection", "host", "keep-alive", "transfer-encoding", "accept-encoding")


@dataclass(frozen=True)
class Exchange:
    """A request, and the status of its answer."""

    path: str
    key: str | None  # as the Authorization header has it
    body: Any
    status: int

    @property
    def tools(self) -> list[str]:
        """Names of the functions that were offered, in any API."""
        tools = self.body.get("tools") or []
        return [tool.get("name") or tool["function"]["name"] for tool in tools]


class Wire:
    """Listens at `url`; use as a context manager."""

    def __init__(self, port: int) -> None:
        self.exchanges: list[Exchange] = []
        wire = self

        class Relay(BaseHTTPRequestHandler):
            def do(self) -> None:
                wire._relay(self, port)

            do_GET = do_HEAD = do_POST = do_DELETE = do

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def asked(self) -> list[Exchange]:
        """What a model was asked."""
        routes = ("/messages", "/chat/completions", "/responses")
        return [said for said in self.exchanges if said.path.partition("?")[0].endswith(routes)]

    def __enter__(self) -> "Wire":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _relay(self, request: BaseHTTPRequestHandler, port: int) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _HOP_BY_HOP
        }
        connection = HTTPConnection("127.0.0.1", port)
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        said = json.loads(body) if body else {}
        key = request.headers.get("Authorization")
        self.exchanges.append(Exchange(request.path, key, said, answer.status))
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        request.end_headers()  # HTTP/1.0: the end of the connection is the answer's
        try:
            while piece := answer.read1(65_536):
                request.wfile.write(piece)
        except OSError:  # the program has left, and the server is to see that
            pass
        finally:
            connection.close()
