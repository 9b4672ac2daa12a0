"""The user's proxies are for other hosts: an agent asks this server directly."""

from collections.abc import Mapping
from urllib.parse import urlsplit

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def past_proxies(environment: Mapping[str, str], url: str) -> dict[str, str]:
    """Variables that leave the server out, where a proxy is set; each library reads another."""
    if not any(value for name, value in environment.items() if name.lower() in _PROXIES):
        return {}
    known = environment.get("NO_PROXY") or environment.get("no_proxy")
    hosts = ",".join(filter(None, (known, urlsplit(url).hostname)))
    return {"NO_PROXY": hosts, "no_proxy": hosts}
