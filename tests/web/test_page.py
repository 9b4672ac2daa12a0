"""Tests of web.page over HTTP: what is sent, to whom, and with which headers."""

import json
import re
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from registry.hub.catalog import CATALOG
from tests.serving import KEY, ServerProcess

STATIC = Path(__file__).parents[2] / "web" / "static"


def fetch(
    server: ServerProcess, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(server.url + path, headers=named, method=method)
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, dict(response.headers), response.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_every_file_is_served_without_a_key(server: ServerProcess) -> None:
    """With its type and a policy under which nothing foreign and nothing inline runs."""
    types = {
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
        ".svg": "image/svg",
    }
    for path in STATIC.iterdir():
        where = "/" if path.name == "index.html" else f"/static/{path.name}"
        status, headers, body = fetch(server, where)
        assert status == 200 and body == path.read_bytes(), path
        assert headers["content-type"].startswith(types[path.suffix])
        policy = headers["content-security-policy"].split("; ")
        own = f"ws://127.0.0.1:{server.port} wss://127.0.0.1:{server.port}"
        assert f"connect-src 'self' {own}" in policy
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= {*policy}
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_file_that_is_known_is_not_sent_again(server: ServerProcess) -> None:
    _, headers, _ = fetch(server, "/static/app.js")
    etag = headers["etag"]
    assert headers["cache-control"] == "no-cache"
    for known in (etag, f'"other", W/{etag}', "*"):
        status, headers, body = fetch(server, "/static/app.js", if_none_match=known)
        assert (status, body, headers["etag"]) == (304, b"", etag), known
    assert fetch(server, "/static/app.js", if_none_match='"other"')[0] == 200


def test_a_head_has_the_length_and_no_body(server: ServerProcess) -> None:
    status, headers, body = fetch(server, "/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == (STATIC / "index.html").stat().st_size


@pytest.mark.parametrize(
    "path",
    ["/static/none.js", "/static/", "/static/index.html", "/static/..%2fpage.py", "/static/a/b"],
)
def test_what_is_not_on_the_list_is_not_found(server: ServerProcess, path: str) -> None:
    status, headers, _ = fetch(server, path)
    assert status == 404 and headers["content-type"] == "application/json"


def test_the_page_is_only_read(server: ServerProcess) -> None:
    status, headers, _ = fetch(server, "/", "POST", authorization=f"Bearer {KEY}")
    assert status == 405 and "GET" in headers["allow"]
    assert fetch(server, "/", "POST")[0] == 401


def test_all_that_the_page_names_is_there() -> None:
    """Files, imports, ids and symbols; and nothing inline, which the policy would refuse."""
    index = (STATIC / "index.html").read_text()
    scripts = {path.name: path.read_text() for path in STATIC.glob("*.js")}
    for name in re.findall(r'/static/([^"]+)', index):
        assert (STATIC / name).exists(), name
    for name, text in scripts.items():
        for imported in re.findall(r'from "\./([^"]+)"', text):
            assert imported in scripts, f"{name} imports {imported}"
        ids = re.findall(r'byId\("([^"]+)"\)', text) + re.findall(
            r'getElementById\("(.+?)"\)', text
        )
        missing = [used for used in ids if f'id="{used}"' not in index]
        assert not missing, f"{name} wants {missing}"
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"):
            assert word not in text, name
    used = set(re.findall(r"#(icon-[a-z]+)", index))
    assert all(f'id="{symbol}"' in index for symbol in used)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>", index)


def test_the_catalog_says_what_is_here(store: ServerProcess) -> None:
    """All of it, as a pull wants it; public, as the page shows it before it has a key."""
    status, _, body = fetch(store, "/mimik-ai/store/v1/catalog")
    offers = {offer["id"]: offer for offer in json.loads(body)["data"]}
    assert status == 200 and offers.keys() == CATALOG.keys()
    assert offers["smollm2-360m"] == {
        "id": "smollm2-360m",
        "repo": "HuggingFaceTB/SmolLM2-360M-Instruct",
        "kind": "llm",
        "bits": 8,
        "size": 730_000_000,
        "description": CATALOG["smollm2-360m"].description,
        "here": False,
    }
