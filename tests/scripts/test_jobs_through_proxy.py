"""Tests of mlx-edge pull where the environment names a proxy: list and files both go through it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store.store import Store
from tests.hub.certificate import Certificate, make_certificate
from tests.hub.hub_server import HubServer
from tests.hub.proxy_server import ProxyServer
from tests.models.tiny_models import make_llama
from tests.scripts.test_cli import run


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, certificate: Certificate) -> Iterator[HubServer]:
    """The hub of the command's environment, by names that only a proxy can resolve."""
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        yield server


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "hub.example", "cdn.example")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_pull_through_a_proxy(
    hub: HubServer,
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """The list, the small files and, where the hub redirects to, the weights."""
    hub.add_folder("org/tiny", make_llama(tmp_path / "tiny"))
    names = {"hub.example": hub.url, "cdn.example": hub.cdn_url}
    hub.cdn_url = "https://cdn.example"
    with ProxyServer(names, certificate) as proxy:
        monkeypatch.setenv(variable, f"http://me:secret@127.0.0.1:{proxy.port}")
        pulled = run(tmp_path / "home", "pull", "org/tiny")
    assert pulled.returncode == 0, pulled.stderr
    assert Store(tmp_path / "home").get("tiny").is_ready
    assert {target for _, target, _ in proxy.seen} == {"hub.example:443", "cdn.example:443"}
    assert {sent for *_, sent in proxy.seen} == {"Basic bWU6c2VjcmV0"}
    assert {seen.at for seen in hub.requests} == {"hub", "cdn"}


@pytest.mark.parametrize(
    "answer, says",
    [
        ("407 Proxy Authentication Required", "answered 407: it wants a user name"),
        ("403 Forbidden", "answered 403 Forbidden: it does not let through to https://hub.example"),
    ],
)
def test_a_proxy_that_refuses_is_named(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, says: str
) -> None:
    """Already for the list, at once, and without the password."""
    with ProxyServer({}, answer=answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        pulled = run(tmp_path / "home", "pull", "org/tiny")
    assert pulled.returncode == 1 and len(pulled.stderr.splitlines()) == 1
    assert f"The proxy http://127.0.0.1:{proxy.port} (HTTPS_PROXY) {says}" in pulled.stderr
    assert "secret" not in pulled.stderr
    assert {target for _, target, _ in proxy.seen} == {"hub.example:443"}


def test_what_is_no_proxy_is_refused_at_once(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://127.0.0.1:1")
    pulled = run(tmp_path / "home", "pull", "org/tiny")
    assert pulled.returncode == 1 and "ALL_PROXY names no proxy" in pulled.stderr
