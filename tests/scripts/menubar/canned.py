"""A server that answers what a test says, when it says so."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IDLE: dict[str, Any] = {
    "state": "ready",
    "version": "1.2.3",
    "has_default_key": True,
    "tokens_per_second": 0.0,
    "memory": {"held_bytes": 0, "limit_bytes": 1 << 30},
    "models": [],
}


class Canned:
    """Listens at `url`; use as a context manager."""

    def __init__(self) -> None:
        self.status = IDLE
        self.raw: bytes | None = None  # in the place of all answers
        self.key: str | None = None  # that has to be sent; None: any
        self.asked: Counter[str] = Counter()  # such as "GET /v1/status", once it is answered
        self.may_answer = threading.Event()
        self.may_answer.set()
        canned = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canned.may_answer.wait()
                canned._answer(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Canned":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        is_list = request.path == "/v1/models" and request.command == "GET"
        told = {"data": [{"id": "tiny"}]} if is_list else {"id": "tiny"} | self.status
        body = json.dumps(told).encode() if self.raw is None else self.raw
        self.asked[f"{request.command} {request.path}"] += 1
        sent = request.headers["Authorization"]
        request.send_response(200 if self.key is None or sent == f"Bearer {self.key}" else 401)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
