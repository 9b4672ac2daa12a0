"""The chat page: `GET /` and the fixed list of files it needs, for everybody."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from quart import Blueprint, Response, abort, request

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str
    etag: str


def blueprint() -> Blueprint:
    """The files are read once, so no request ever names a path on disk."""
    routes = Blueprint("page", __name__)
    files = {path.name: _read(path) for path in _STATIC.iterdir() if path.suffix in _TYPES}
    index = files.pop("index.html")

    @routes.get("/")
    async def show_page() -> Response:
        return _reply(index)

    @routes.get("/static/<name>")
    async def send_file(name: str) -> Response:
        file = files.get(name)
        return _reply(file) if file else abort(404)

    return routes


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:32])


def _reply(file: _File) -> Response:
    """Asked after at every visit (`no-cache`), so that a new version is seen at once."""
    is_known = request.if_none_match.contains_weak(file.etag)
    response = Response(b"" if is_known else file.content, 304 if is_known else 200)
    response.content_type = file.content_type
    response.set_etag(file.etag)
    response.headers.update(
        {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": _policy(request.host),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )
    return response


def _policy(host: str) -> str:
    """Nothing from elsewhere, nothing inline. `host` was checked by the guard.

    The sockets are named because Safari before 15.4 does not count them to 'self'.
    """
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' ws://{host} wss://{host}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
