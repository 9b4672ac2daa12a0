"""Who answers at the server's port: whether it is ours, what it holds, by which key."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from scripts.service import port as ports
from web.settings import DEFAULT_API_KEY, LOOPBACK

from .finding import Finding

if TYPE_CHECKING:
    import httpx

State: TypeAlias = Literal["none", "ours", "other key", "in trouble", "silent", "foreign"]

limit_s = 10.0  # for an answer, which ours has at once


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


class _Error(msgspec.Struct):
    """As web.errors writes it. Ours has all of these, and its code is a word."""

    message: str
    type: str
    param: str | None
    code: str | None


class _Failure(msgspec.Struct):
    error: _Error


def ask(server: str, api_key: str) -> Asked:
    """Ask for its models."""
    import httpx  # late, as in scripts.remote

    url = f"{server.rstrip('/')}/v1/models"
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        # No proxy of the environment: the key is for this server alone.
        answer = httpx.get(url, headers=headers, timeout=limit_s, trust_env=False)
    except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL):
        return Asked("none")
    except httpx.TimeoutException:
        return Asked("silent", trouble=f"it does not answer within {limit_s:g} s")
    except httpx.HTTPError as error:
        return Asked("foreign", trouble=f"it speaks no HTTP ({error})")
    return _judged(answer)


def _judged(answer: "httpx.Response") -> Asked:
    """Whose answer this is: by its shape, for others speak the same API."""
    try:
        if answer.is_error:
            trouble = msgspec.json.decode(answer.content, type=_Failure).error.message
            return Asked("other key" if answer.status_code == 401 else "in trouble", {}, trouble)
        models = msgspec.json.decode(answer.content, type=_Models).data
    except msgspec.MsgspecError:
        told = f"it answers with status {answer.status_code}, and not like mlx-edge"
        return Asked("foreign", trouble=told)
    return Asked("ours", {model.id: model.memory_bytes for model in models if model.memory_bytes})


def findings(
    asked: Asked, server: str, api_key: str, *, is_service: bool = False
) -> Iterator[Finding]:
    """Of the port, and of the key. `is_service`: the address was the service's to tell."""
    yield _port(asked, server, f"{server} (the service's address)" if is_service else server)
    if asked.state == "ours" and api_key == DEFAULT_API_KEY:
        yield Finding(
            "key",
            "note",
            f"the server takes {DEFAULT_API_KEY}, the key of the documentation: every program on "
            "this machine may use it",
            "Choose one of your own: `mlx-edge key new`, then start the server again.",
        )


def _port(asked: Asked, server: str, where: str) -> Finding:
    match asked.state:
        case "ours":
            return Finding("port", "ok", f"mlx-edge answers at {where}")
        case "other key":
            return Finding(
                "port",
                "warning",
                f"mlx-edge answers at {where}, and the key is another than the server's, which "
                "cannot be asked about its models",
                "Give the server's key with --api-key or MLX_EDGE_API_KEY.",
            )
        case "in trouble":
            return _ailing(f"mlx-edge answers at {where} with an error: {asked.trouble}")
        case "silent":
            holder = _holder(server)
            who = f"{holder.name} (pid {holder.pid})" if holder else "somebody"
            return _ailing(f"{who} listens at {where}, and does not answer within {limit_s:g} s")
        case "foreign":
            return _held(server, asked.trouble or "")
    if _holder(server) is not None:
        return _held(server, "it speaks no HTTP")
    return Finding("port", "note", f"no server runs at {where}", "`mlx-edge serve` starts one.")


def _ailing(told: str) -> Finding:
    """Ours as far as anybody knows, and answers may be on their way: nothing to kill."""
    return Finding(
        "port",
        "problem",
        told,
        "`mlx-edge service logs`, or the terminal of `mlx-edge serve`, says what it does. If it "
        "stays so, start it again: `mlx-edge service restart`.",
    )


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
    """Who listens there, if that is this machine; nobody does where it is no address at all."""
    try:
        is_here = urlsplit(server).hostname in LOOPBACK
        return ports.holder(_number(server)) if is_here else None
    except ValueError:
        return None


def _number(server: str) -> int:
    parts = urlsplit(server)
    return parts.port or (443 if parts.scheme == "https" else 80)
