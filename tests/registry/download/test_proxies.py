"""Tests of registry.download.proxies: read from the environment as the hub's own library does."""

import httpx
import huggingface_hub
import pytest

from registry.download.proxies import Proxies, Proxy
from registry.errors import SourceRefused

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    "environment, url, expected",
    [
        ({}, "https://a.example/x", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.example/x", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https://a.example/x", "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https://a.example/x",
         "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https://a.example/x", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://a.example/x", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://a.example/x", "http://p:1"),
        ({"ALL_PROXY": "socks5://p:1"}, "http://a.example/x", "socks5://p:1"),
        ({"all_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https://a.example/x",
         "http://q:1"),
    ],
)  # fmt: skip
def test_the_scheme_chooses(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, expected: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = Proxies.from_environment().for_url(url)
    assert (found.url if found else None) == expected


@pytest.mark.parametrize(
    "no_proxy, url, is_direct",
    [
        ("a.example", "https://a.example/x", True),
        ("A.Example", "https://a.example/x", True),
        ("a.example", "https://b.a.example/x", True),
        ("a.example", "https://ba.example/x", False),
        (".a.example", "https://b.a.example/x", True),
        (".a.example", "https://a.example/x", False),
        ("*.a.example", "https://b.a.example/x", True),
        ("b.example, a.example", "https://a.example/x", True),
        ("a.example:8443", "https://a.example:8443/x", True),
        ("a.example:8443", "https://a.example/x", False),
        ("https://a.example", "https://a.example/x", True),
        ("http://a.example", "https://a.example/x", False),
        ("localhost", "http://localhost:1/x", True),
        ("localhost", "http://a.localhost:1/x", False),
        ("10.1.2.3", "http://10.1.2.3:8080/x", True),
        ("10.0.0.0/8", "http://10.1.2.3:8080/x", True),
        ("10.0.0.0/8", "http://11.1.2.3/x", False),
        ("::1", "http://[::1]:8080/x", True),
        ("fd00::/8", "http://[fd12::1]/x", True),
        ("*", "https://a.example/x", True),
        ("b.example,*", "https://a.example/x", True),
        (" ,", "https://a.example/x", False),
    ],
)
def test_exceptions_are_those_of_the_hubs_library(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, is_direct: bool
) -> None:
    """So that a repository's list and its files always go the same way."""
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (Proxies.from_environment().for_url(url) is None) == is_direct
    huggingface_hub.close_session()
    client = huggingface_hub.get_session()
    try:
        transport = client._transport_for_url(type(client.base_url)(url))
        assert (transport is client._transport) == is_direct
    finally:
        huggingface_hub.close_session()  # others want one of their own environment


@pytest.mark.parametrize("url", ["ftp://p:1", "socks4://p:1", "http://", "http://p:port",
                                 "http://me:pa/ss@p:1", "http://me:1/secret@p:1"])  # fmt: skip
def test_what_is_no_proxy_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """At once, by the variable's name; not its value, which may hold a password."""
    monkeypatch.setenv("ALL_PROXY", url)
    proxies = Proxies.from_environment()
    with pytest.raises(SourceRefused, match="^ALL_PROXY names no proxy") as caught:
        proxies.for_url("https://a.example/x")
    assert "ss@" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_password_is_not_told() -> None:
    proxy = Proxy("http://me:secret@p.example:3128", "HTTPS_PROXY")
    for text in (str(proxy), repr(proxy), repr(Proxies(https=proxy))):
        assert "secret" not in text and "me" not in text.replace("variable", "")
    assert str(proxy) == "http://p.example:3128 (HTTPS_PROXY)"
    assert httpx.Proxy(proxy.url).raw_auth == (b"me", b"secret")
