"""Who answers at the server's port: whether it is ours, what it holds, by which key."""

from collections.abc import Iterator
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import click
import msgspec

from scripts.remote import NoServer, request
from scripts.service import port as ports
from web.settings import DEFAULT_API_KEY, LOOPBACK

from .finding import Finding

State: TypeAlias = Literal["none", "ours", "other key", "foreign"]


class Asked(msgspec.Struct, frozen=True):
    """What became of asking it for its models."""

    state: State
    held: dict[str, int] = {}  # bytes of the models in its memory
    trouble: str | None = None  # what it said instead


class _Model(msgspec.Struct):
    id: str
    memory_bytes: int = 0


class _Models(msgspec.Struct):
    """Of GET /v1/models; no other server tells `memory`."""

    data: list[_Model]
    memory: dict[str, int]


def ask(server: str, api_key: str) -> Asked:
    """Ask for its models."""
    try:
        with request("GET", server, "/v1/models", api_key) as response:
            models = msgspec.json.decode(response.read(), type=_Models).data
    except NoServer:
        return Asked("none")
    except msgspec.MsgspecError:
        return Asked("foreign", trouble="it answers like a server, and not like mlx-edge")
    except click.ClickException as error:
        is_ours = error.message == "Unauthorized"
        return Asked("other key" if is_ours else "foreign", trouble=error.message)
    return Asked("ours", {model.id: model.memory_bytes for model in models if model.memory_bytes})


def findings(asked: Asked, server: str, api_key: str) -> Iterator[Finding]:
    """Of the port, and of the key."""
    yield _port(asked, server)
    if asked.state == "ours" and api_key == DEFAULT_API_KEY:
        yield Finding(
            "key",
            "note",
            f"the server takes {DEFAULT_API_KEY}, the key of the documentation: every program on "
            "this machine may use it",
            "Choose one of your own: `mlx-edge key new`, then start the server again.",
        )


def _port(asked: Asked, server: str) -> Finding:
    match asked.state:
        case "ours":
            return Finding("port", "ok", f"mlx-edge answers at {server}")
        case "other key":
            return Finding(
                "port",
                "warning",
                f"mlx-edge answers at {server}, and the key is another than the server's, which "
                "cannot be asked about its models",
                "Give the server's key with --api-key or MLX_EDGE_API_KEY.",
            )
        case "foreign":
            return _held(server, asked.trouble or "")
    holder = _holder(server)
    if holder is not None:
        return _held(server, "it speaks no HTTP")
    return Finding("port", "note", f"no server runs at {server}", "`mlx-edge serve` starts one.")


def _held(server: str, how: str) -> Finding:
    port, holder = _number(server), _holder(server)
    who = f"{holder.name} (pid {holder.pid})" if holder else "a process that is not yours"
    end = f"End it (`kill {holder.pid}`), or take another port: " if holder else "Take another: "
    return Finding(
        "port",
        "problem",
        f"port {port} is held by {who}, which is not mlx-edge: {how}",
        f"{end}`mlx-edge serve --port {port + 1}`.",
    )


def _holder(server: str) -> ports.Holder | None:
    """Who listens there, if that is this machine."""
    is_here = urlsplit(server).hostname in LOOPBACK
    return ports.holder(_number(server)) if is_here else None


def _number(server: str) -> int:
    parts = urlsplit(server)
    return parts.port or (443 if parts.scheme == "https" else 80)
