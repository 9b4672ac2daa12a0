"""What the web layer can be told. Built by `scripts.serve`; nothing here reads the environment."""

import ipaddress
import re
from dataclasses import dataclass

from registry.hub.repository import HubSettings

DEFAULT_API_KEY = "1234"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

MAX_RESPONSES = 20_000
END_S = 30.0  # from the end of the drain to the exit, whatever happens; `web.ending` spends it


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How many responses are kept."""

    max_responses: int = MAX_RESPONSES  # 0: none is stored
    max_bytes: int = 1 << 30
    max_age_s: float = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8083
    api_key: str = DEFAULT_API_KEY
    allowed_hosts: tuple[str, ...] = ()  # Host headers beside the loopback names
    allowed_origins: tuple[str, ...] = ()  # web pages that may call, exactly as browsers name them
    preload: tuple[str, ...] = ()  # models to load at the start
    hub: HubSettings = HubSettings()  # where pulls are resolved
    max_body_bytes: int = 16 << 20
    max_message_bytes: int = 1 << 20  # of a WebSocket
    ping_interval_s: float = 20.0  # of a WebSocket; who is silent for two of them is gone
    header_timeout_s: float = 10.0  # from a connection's begin, or a request's first byte
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0  # between two requests; longer than the pools of clients wait
    heartbeat_s: float = 10.0  # between two signs of life on a stream
    drain_timeout_s: float = 20.0
    stall_limit_s: float = 30.0  # how long one write to a client, or read of an upload, may take
    upload_timeout_s: float = 6 * 3600.0
    disk_reserve_bytes: int = 64 << 20  # what an upload leaves free
    max_connections: int = 512
    resume_grace_s: float = 30.0  # for which a stream goes on whose connection is lost
    archive: ArchiveLimits = ArchiveLimits()  # of responses that are stored


def longest_end_s(drain_timeout_s: float) -> float:
    """Seconds from SIGTERM to the exit, at most; most ends take the time of the running answers.

    Whoever kills a server that does not end should wait longer: launchd's ExitTimeOut
    (launchd.plist(5)), systemd's TimeoutStopSec (systemd.service(5)). Infinite where the drain is.
    """
    return drain_timeout_s + END_S


def check_bind(settings: WebSettings) -> None:
    """Raises ValueError for a key that is none, and when the documented default key would guard
    more than this machine.
    """
    check_key(settings.api_key)
    if settings.api_key == DEFAULT_API_KEY and not is_loopback(settings.host):
        raise ValueError(
            f"the default key {DEFAULT_API_KEY} is public, so it serves loopback only; "
            f"to listen on {settings.host} choose a key of your own with `mlx-edge key new` or "
            "--api-key"
        )


def check_key(key: str) -> None:
    """Raises ValueError for one that no header could carry."""
    if not re.fullmatch(r"[!-~]{1,512}", key):
        raise ValueError("an API key has 1 to 512 ASCII characters, none of them blank")


def is_loopback(host: str) -> bool:
    """Whether only this machine is reached there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK
