"""Tests of how an agent passes by the user's proxies."""

import pytest

from scripts.agents.proxies import past_proxies

PROXY = {"http_proxy": "http://proxy.example:3128"}


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, "http://127.0.0.1:8083", None),
        ({"HTTPS_PROXY": "", "NO_PROXY": "x"}, "http://127.0.0.1:8083", None),
        (PROXY, "http://127.0.0.1:8083", "127.0.0.1"),
        ({"ALL_PROXY": "socks5://p"}, "http://mac.local:8083/", "mac.local"),
        (PROXY | {"NO_PROXY": "a,b"}, "http://[::1]:8083", "a,b,::1"),
        (PROXY | {"no_proxy": "a", "NO_PROXY": ""}, "http://127.0.0.1:1", "a,127.0.0.1"),
    ],
)
def test_the_server_is_left_out(
    environment: dict[str, str], url: str, expected: str | None
) -> None:
    """By both spellings, beside what the user left out; without a proxy there is nothing to say."""
    told = {} if expected is None else {"NO_PROXY": expected, "no_proxy": expected}
    assert past_proxies(environment, url) == told
