"""Tests of web.door.guard: tables of hosts, origins, keys and paths, without a server."""

from collections.abc import Sequence
from typing import Any

import pytest

from web.door.guard import SENT_KEY, Guard
from web.settings import WebSettings

SETTINGS = WebSettings(
    api_key="sesame",
    allowed_hosts=("edge.local", "box:9000", "localhost:9000", "127.0.0.1:9000", "[::1]:9000"),
    allowed_origins=("https://app.example",),
)


async def inner(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "headers": []})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def call(
    headers: list[tuple[str, str]],
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    kind: str = "http",
    port: int = 8083,
    app: Any = inner,
    protocols: Sequence[str] = (),
) -> tuple[int, dict[str, str]]:
    """The status and headers that a request gets; 101 for a socket that is let in."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "server": ("127.0.0.1", port),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    if kind == "websocket":
        scope["subprotocols"] = list(protocols)
    await Guard(app, SETTINGS)(scope, None, send)  # type: ignore[arg-type]
    first = sent[0]
    assert first["type"] in ("http.response.start", "websocket.accept") or kind == "websocket"
    status = 101 if first["type"] == "websocket.accept" else first["status"]
    return status, {name.decode(): value.decode() for name, value in first["headers"]}


HOST = ("host", "127.0.0.1:8083")
KEY = ("authorization", "Bearer sesame")

GOOD_HOSTS = ["127.0.0.1:8083", "localhost:8083", "LOCALHOST:8083", "[::1]:8083", "edge.local",
              "edge.local:443", "box:9000", "localhost:9000", "127.0.0.1:9000",
              "[::1]:9000"]  # fmt: skip
BAD_HOSTS = ["", "evil.example", "127.0.0.1", "127.0.0.1:80", "localhost:8084", "0.0.0.0:8083",
             "127.0.0.1.evil:8083", "localhost.evil:8083", "user@127.0.0.1:8083", "127.1:8083",
             "localhost.:8083", "[::]:8083", "2130706433:8083", "127.0.0.1:8083:1",
             " 127.0.0.1:8083", "127.0.0.1:8083, evil", "box:9001",
             "ⓛocalhost:8083".encode().decode("latin-1")]  # fmt: skip


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_hosts(kind: str, method: str) -> None:
    """Only known names with the right port get through; a rebound name never does."""
    for host in GOOD_HOSTS:
        status, _ = await call([("host", host), KEY], kind=kind, method=method)
        assert status in (200, 101, 204), host
    for host in BAD_HOSTS:
        status, _ = await call([("host", host), KEY], kind=kind, method=method)
        assert status == 403, host
    for headers in ([KEY], [HOST, HOST, KEY]):
        assert (await call(headers, kind=kind, method=method))[0] == 403


BAD_ORIGINS = ["null", "", "https://app.example.evil", "http://app.example", "https://app.example:443",
               "https://APP.example", "https://evil", "http://127.0.0.1", "http://127.0.0.1.evil:8083",
               "http://localhost:8084", "https://localhost:8083", "file://", "*"]  # fmt: skip


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_origins(kind: str) -> None:
    """The right key does not help a page that is not on the list."""
    for origin in ("https://app.example", "http://127.0.0.1:8083", "http://localhost:8083"):
        status, headers = await call([HOST, KEY, ("origin", origin)], kind=kind)
        assert status in (200, 101)
        assert headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in headers and headers["vary"] == "Origin"
    for origin in BAD_ORIGINS:
        status, headers = await call([HOST, KEY, ("origin", origin)], kind=kind)
        assert status == 403, origin
        assert "access-control-allow-origin" not in headers
    cross = ("sec-fetch-site", "cross-site")
    assert (await call([HOST, KEY, cross], kind=kind))[0] == 403
    assert (await call([HOST, KEY, cross, ("origin", "https://app.example")], kind=kind))[0] != 403


async def test_a_foreign_link_opens_the_page_and_nothing_else() -> None:
    """A person may click on it; no frame, no script, no other path, and no other method."""
    link = {"site": "cross-site", "mode": "navigate", "dest": "document"}

    async def status(method: str = "GET", path: str = "/", **changed: str) -> int:
        fetch = [(f"sec-fetch-{name}", value) for name, value in (link | changed).items()]
        return (await call([HOST, *fetch], method=method, path=path))[0]

    assert await status() == 200
    for path in ("/v1/models", "/health", "/static/app.js", "//"):
        assert await status(path=path) == 403, path
    for changed in ({"dest": "iframe"}, {"mode": "no-cors"}, {"mode": "cors", "dest": "empty"}):
        assert await status(**changed) == 403, changed
    assert await status("POST") == await status("HEAD") == 403
    evil = [HOST, ("origin", "https://evil"), ("sec-fetch-mode", "navigate")]
    assert (await call(evil, method="GET", path="/"))[0] == 403


async def test_preflight_needs_no_key_but_a_known_origin() -> None:
    """It gets the headers it asks for, if they are names; private-network only when asked for."""
    wanted = ["authorization", "content-type", "user-agent", "x-stainless-retry-count", "baggage"]
    wanted += ["dangerously-allow-browser", "http-referer", "x-title", "x-requested-with"]
    wanted += ["cache-control", "traceparent"]
    asked = ", ".join([*wanted, "no name", "", "x" * 65, "a:b", "é"])
    headers = [HOST, ("origin", "https://app.example"), ("access-control-request-headers", asked)]
    status, answer = await call(headers, method="OPTIONS")
    assert status == 204
    granted = answer["access-control-allow-headers"].split(", ")
    assert granted == wanted
    many = [
        *headers[:2],
        ("access-control-request-headers", ",".join(f"x-{n}" for n in range(999))),
    ]
    _, few = await call(many, method="OPTIONS")
    assert len(few["access-control-allow-headers"].split(", ")) == 64
    assert "access-control-allow-private-network" not in answer
    _, answer = await call(
        [*headers, ("access-control-request-private-network", "true")], method="OPTIONS"
    )
    assert answer["access-control-allow-private-network"] == "true"
    status, answer = await call([HOST, ("origin", "https://evil")], method="OPTIONS")
    assert status == 403 and "access-control-allow-headers" not in answer


@pytest.mark.parametrize(
    "credentials",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", "sesame")],
        [("authorization", "Basic sesame")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer sésame")],
        [("authorization", "Bearer " + "s" * 20_000)],
        [KEY, KEY],
        [KEY, ("x-api-key", "sesame")],
        [("x-api-key", "wrong")],
    ],
)
async def test_keys_that_do_not_fit(credentials: list[tuple[str, str]]) -> None:
    """Absent, wrong, malformed or doubled: 401 each time, never a crash."""
    assert (await call([HOST, *credentials]))[0] == 401


async def test_keys_that_fit() -> None:
    """A bearer token in any case of the scheme, or Anthropic's header."""
    for credential in (KEY, ("authorization", "bearer sesame"), ("x-api-key", "sesame")):
        assert (await call([HOST, credential]))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/", 200),
        ("HEAD", "/static/app.js", 200),
        ("POST", "/", 401),
        ("GET", "/static", 401),
        ("GET", "/mimik-ai/store/v1/models", 200),
        ("POST", "/mimik-ai/store/v1/models", 401),
        ("GET", "/metrics", 401),
        ("GET", "/v1/models", 401),
        ("GET", "/mimik-ai/openai/v1/models", 401),
        ("GET", "/health/", 401),
        ("GET", "/anything", 401),
        ("POST", "/health", 401),
    ],
)
async def test_deny_by_default(method: str, path: str, status: int) -> None:
    """Without a key only the explicit list is public."""
    assert (await call([HOST], method=method, path=path))[0] == status


@pytest.mark.parametrize(
    ("headers", "protocols", "status", "sent"),
    [
        ([KEY], [], 101, "right"),
        ([("authorization", "Bearer no")], [], 401, None),
        ([("x-api-key", "no")], [], 401, None),
        ([], [], 101, "none"),
        ([], ["mlx-edge", "openai-insecure-api-key.sesame"], 101, "right"),
        ([], ["openai-insecure-api-key.no"], 101, "wrong"),
        ([], ["openai-insecure-api-key."], 101, "wrong"),
        ([], ["openai-insecure-api-key.sesame"] * 2, 101, "wrong"),
        ([KEY], ["openai-insecure-api-key.sesame"], 401, None),
    ],
)
async def test_a_socket_brings_its_key(
    headers: list[tuple[str, str]], protocols: list[str], status: int, sent: str | None
) -> None:
    """In a header, which refuses at once; or a subprotocol, which the application never sees."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await inner(scope, receive, send)

    got, _ = await call([HOST, *headers], kind="websocket", app=app, protocols=protocols)
    assert got == status
    if sent is not None:
        assert scopes[0][SENT_KEY] == sent
        assert scopes[0]["subprotocols"] == [p for p in protocols if p == "mlx-edge"]


async def test_every_answer_has_a_request_id() -> None:
    """Also a refusal, and never the caller's own."""
    for headers in ([HOST, KEY], [HOST], [KEY]):
        _, answer = await call([*headers, ("x-request-id", "mine")])
        assert answer["x-request-id"].startswith("req_")


async def test_own_pages_on_the_port_that_browsers_leave_out() -> None:
    """On port 80 an Origin has no port."""
    origin = [("host", "localhost"), KEY, ("origin", "http://localhost")]
    assert (await call(origin, port=80))[0] == 200
    assert (await call([HOST, KEY, ("origin", "http://localhost")]))[0] == 403


async def test_a_target_that_is_no_path_is_refused() -> None:
    """What no router can parse is a 400 of ours, not a crash of its."""
    status, headers = await call([HOST, KEY], method="GET", path="http://[/")
    assert status == 400 and headers["x-request-id"]


async def test_own_pages_behind_a_mapped_port() -> None:
    """They come from the name and port that Host tells, once that is allowed; no others do."""
    for name in ("localhost:9000", "[::1]:9000", "box:9000"):
        page = [("host", name), KEY, ("origin", f"http://{name}")]
        assert (await call(page))[0] == 200, name
        assert (await call([HOST, KEY, ("origin", f"http://{name}")]))[0] == 403, name
    for name in ("localhost:9001", "evil.example"):
        status, headers = await call([("host", name), KEY, ("origin", f"http://{name}")])
        assert status == 403 and "access-control-allow-origin" not in headers
