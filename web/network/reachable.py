"""What a server can reach: by its settings and by what people ask of it, and nothing else."""

from collections.abc import Iterator

import msgspec

from registry.download.remote import DownloadSettings
from registry.hub.repository import HubSettings


class Reachable(msgspec.Struct, frozen=True):
    """A destination, or a kind of them."""

    destination: str
    when: str
    named_by: str


def reachable(hub: HubSettings, downloads: DownloadSettings) -> list[Reachable]:
    """All there is; nothing of it before a model is pulled, or the starter brought."""
    return [*_hub(hub), *_downloads(downloads), *_proxies(downloads)]


def _hub(hub: HubSettings) -> Iterator[Reachable]:
    is_default = hub.endpoint == HubSettings().endpoint
    yield Reachable(
        hub.endpoint,
        "a model is pulled by its name",
        "mlx-edge (HF_ENDPOINT names another)" if is_default else "HF_ENDPOINT",
    )
    yield Reachable(
        f"hosts that {hub.endpoint} redirects to",
        "a file of such a model lies there",
        "the hub, by redirects that are each checked",
    )


def _downloads(downloads: DownloadSettings) -> Iterator[Reachable]:
    yield Reachable(
        "a host of the internet that a URL names",
        "a model is pulled by this URL",
        "whoever pulls, with the key",
    )
    for host in downloads.allowed_private_hosts:
        yield Reachable(
            f"{host}, also in a private network",
            "a model is pulled from there",
            "--allow-private-downloads, or HF_ENDPOINT",
        )
    yield Reachable(
        "the package index that pip is set up for",
        "smollm2-135m is brought or taken from its package; pip tells the index its own version, "
        "Python and system, as at every install",
        "your pip's settings",
    )


def _proxies(downloads: DownloadSettings) -> Iterator[Reachable]:
    proxies = downloads.proxies
    for proxy in dict.fromkeys((proxies.http, proxies.https, proxies.all)):
        if proxy is not None:
            yield Reachable(str(proxy), "anything of the above is fetched", "the environment")
