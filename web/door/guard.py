"""Who may talk to this server at all: checked before routing, for HTTP and sockets alike.

A web page can send requests to 127.0.0.1 and the default key is public, so the key alone is no
protection: Host stops DNS rebinding, Origin and Sec-Fetch-Site stop foreign pages.
"""

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from web.dialect import STORE_BASE, dialect_of
from web.errors import Failure
from web.settings import LOOPBACK, WebSettings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "mlx_edge.request_id"  # keys of the scope
SENT_KEY = "mlx_edge.sent_key"  # of a socket: a SentKey

SentKey: TypeAlias = Literal["right", "wrong", "none"]

_MAX_HEADERS = 100
_MAX_HEADER_BYTES = 32 << 10
_PUBLIC = {"/", "/health", "/ready"}
_PUBLIC_FOLDERS = (STORE_BASE + "/", "/static/")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(\d{1,5}))?")
_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
# SDKs, tracers and browsers bring names of their own; a token as in RFC 9110, 5.6.2.
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
_MAX_GRANTED = 64
_EXPOSED = b"x-request-id, x-should-retry, retry-after"
# How browsers send a key, which can set no header on a socket (OpenAI's Realtime convention).
_KEY_PROTOCOL = "openai-insecure-api-key."
_FIRST_MESSAGES = ("http.response.start", "websocket.http.response.start", "websocket.accept")


class Guard:
    """ASGI middleware, outermost. Every response leaves with an x-request-id."""

    def __init__(self, app: Asgi, settings: WebSettings) -> None:
        self._app = app
        self._key = settings.api_key.encode()
        self._hosts = {name.lower() for name in settings.allowed_hosts}
        self._origins = set(settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        headers = _Headers(scope["headers"])
        request_id = f"req_{secrets.token_hex(12)}"
        scope[REQUEST_ID] = request_id
        origin = headers.one("origin")
        host = headers.one("host")
        is_known_origin = origin is not None and self._is_allowed_origin(origin, host, scope)
        # Anthropic's clients read the id without the x.
        extra = [(name, request_id.encode()) for name in (b"x-request-id", b"request-id")]
        extra.append((b"vary", b"Origin"))
        if is_known_origin and origin is not None:
            extra.append((b"access-control-allow-origin", origin.encode()))
            extra.append((b"access-control-expose-headers", _EXPOSED))

        async def send_with_headers(message: Any) -> None:
            if message["type"] in _FIRST_MESSAGES:
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        refusal = self._refusal(scope, headers, is_known_origin)
        if refusal is not None:
            return await _refuse(scope, refusal, send_with_headers)
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            return await _preflight(headers, is_known_origin, send_with_headers)
        sent = self._sent_key(scope, headers)
        if sent != "right" and not self._may_go_on(scope, headers):
            return await _refuse(
                scope, Failure(401, "Unauthorized", "invalid_api_key"), send_with_headers
            )
        scope[SENT_KEY] = sent
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: "_Headers", is_known_origin: bool) -> Failure | None:
        """What speaks against the request, whatever its key."""
        if not scope.get("raw_path", b"/").startswith((b"/", b"*")):
            return Failure(400, "The request's target is a path that begins with '/'.")
        if headers.count > _MAX_HEADERS or headers.num_bytes > _MAX_HEADER_BYTES:
            return Failure(
                431, f"At most {_MAX_HEADERS} headers of {_MAX_HEADER_BYTES} bytes together."
            )
        if not self._is_allowed_host(headers.one("host"), scope):
            return Failure(
                403,
                "This Host header is not served here; use 127.0.0.1, or start the server with "
                "--allow-host NAME.",
                "host_not_allowed",
            )
        if headers.has("origin") and not is_known_origin:
            return Failure(
                403,
                "This web page may not use the server; start it with --allow-origin ORIGIN.",
                "origin_not_allowed",
            )
        is_foreign = headers.one("sec-fetch-site") == "cross-site" and not is_known_origin
        if is_foreign and not _opens_page(scope, headers):
            return Failure(403, "A foreign web page may not use the server.", "origin_not_allowed")
        return None

    def _is_allowed_host(self, host: str | None, scope: Scope) -> bool:
        match = _HOST.fullmatch(host.lower()) if host else None
        if match is None:
            return False
        name, port = match[1].strip("[]"), match[2]
        if name in self._hosts or match[0] in self._hosts:
            return True
        return name in LOOPBACK and int(port or 80) == _port(scope)

    def _is_allowed_origin(self, origin: str, host: str | None, scope: Scope) -> bool:
        """Listed exactly; or our own pages, whose Host is checked against rebinding.

        Behind a tunnel or a mapped port these come from the name and port that Host tells.
        """
        if host and origin == f"http://{host.lower()}" and self._is_allowed_host(host, scope):
            return True
        port = "" if _port(scope) == 80 else f":{_port(scope)}"  # browsers leave 80 out
        own = {f"http://{name}{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        return origin in self._origins or origin in own

    def _is_public(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        path: str = scope["path"]
        is_read = scope["method"] in ("GET", "HEAD")
        return is_read and (path in _PUBLIC or path.startswith(_PUBLIC_FOLDERS))

    def _may_go_on(self, scope: Scope, headers: "_Headers") -> bool:
        """What passes without the right key: public paths, and sockets, to send theirs first.

        A browser cannot read the answer to a handshake that fails, so `socket` accepts before it
        refuses; who sends headers can read it.
        """
        if scope["type"] == "websocket":
            return not headers.has("authorization") and not headers.has("x-api-key")
        return self._is_public(scope)

    def _sent_key(self, scope: Scope, headers: "_Headers") -> SentKey:
        """A bearer token, the header Anthropic's clients send, or a socket's subprotocol.

        Never two of them. The subprotocol is taken out of the scope: nothing may echo it.
        """
        offered: list[str] = scope.get("subprotocols", [])
        hidden = [name.encode() for name in offered if name.startswith(_KEY_PROTOCOL)]
        if hidden:
            scope["subprotocols"] = [n for n in offered if not n.startswith(_KEY_PROTOCOL)]
        sent = headers.all("authorization") + headers.all("x-api-key") + hidden
        if not sent:
            return "none"
        value = sent[0].removeprefix(_KEY_PROTOCOL.encode()) if hidden else sent[0]
        if headers.has("authorization"):
            scheme, _, value = value.partition(b" ")
            if scheme.lower() != b"bearer":
                return "wrong"
        is_right = len(sent) == 1 and hmac.compare_digest(value.strip(), self._key)
        return "right" if is_right else "wrong"


class _Headers:
    """Raw ASGI headers; names are lower case already."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        self.count = self.num_bytes = 0
        for name, value in raw:
            self._values.setdefault(name.lower(), []).append(value)
            self.count += 1
            self.num_bytes += len(name) + len(value)

    def all(self, name: str) -> list[bytes]:
        return self._values.get(name.encode(), [])

    def has(self, name: str) -> bool:
        return name.encode() in self._values

    def one(self, name: str) -> str | None:
        """The only value; None if it is missing or there are several."""
        values = self.all(name)
        return values[0].decode("latin-1") if len(values) == 1 else None


def _opens_page(scope: Scope, headers: _Headers) -> bool:
    """A link from elsewhere to our page, in a window of its own: it says nothing, and is fine."""
    return (
        scope["type"] == "http"
        and (scope["method"], scope["path"]) == ("GET", "/")
        and headers.one("sec-fetch-mode") == "navigate"
        and headers.one("sec-fetch-dest") == "document"
    )


def _port(scope: Scope) -> int:
    server = scope.get("server")
    return int(server[1]) if server and server[1] else 80


async def _refuse(scope: Scope, failure: Failure, send: Send) -> None:
    body = msgspec.json.encode(failure.body(dialect_of(scope["path"])))
    # A socket that is refused before the upgrade gets an ordinary response.
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    await _answer(send, failure.status, body, prefix=prefix)


async def _preflight(headers: _Headers, is_known_origin: bool, send: Send) -> None:
    """CORS for allowed origins; elsewhere OPTIONS just says what there is."""
    extra: list[tuple[bytes, bytes]] = [(b"allow", _METHODS.encode())]
    if is_known_origin:
        asked = (headers.one("access-control-request-headers") or "").lower().split(",")
        names = [name.strip() for name in asked]
        granted = [name for name in names if _HEADER_NAME.fullmatch(name)][:_MAX_GRANTED]
        extra += [
            (b"access-control-allow-methods", _METHODS.encode()),
            (b"access-control-allow-headers", ", ".join(granted).encode()),
            (b"access-control-max-age", b"600"),
        ]
        if headers.one("access-control-request-private-network") == "true":
            extra.append((b"access-control-allow-private-network", b"true"))
    await _answer(send, 204, b"", extra)


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    extra: Iterable[tuple[bytes, bytes]] = (),
    prefix: str = "http",
) -> None:
    headers = [(b"content-length", str(len(body)).encode()), *extra] if status != 204 else [*extra]
    if body:
        headers.append((b"content-type", b"application/json"))
    await send({"type": f"{prefix}.response.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": body})
