"""A repository of the hub, pinned to a commit: which of its files a model needs, and their URLs.

huggingface_hub asks for the metadata; the bytes come through `download.fetch`. The list of files
was written by strangers: `files` judges it.
"""

import asyncio
import contextlib
import os
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, urlsplit

from registry.download.proxies import Proxies, Proxy
from registry.download.remote import RETRIED, Interrupted, Remote
from registry.errors import HubUnreachable, SourceRefused
from runtime.processes.destinations import HERE

from .files import HubFile, needed, weights

T = TypeVar("T")

_REPO_ID = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubRevision:
    """A repository at one commit, with the files to fetch."""

    repo_id: str
    commit: str
    files: tuple[HubFile, ...]
    licence: str | None
    weights: tuple[HubFile, ...] = ()  # all that an index among `files` may name


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub is, the token to show it, and how patiently it is asked."""

    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 30  # for one answer
    max_attempts: int = 3
    backoff_s: float = 1
    proxies: Proxies = Proxies()  # as huggingface_hub takes them from the environment by itself

    @classmethod
    def from_environment(cls) -> "HubSettings":
        """HF_ENDPOINT and HF_TOKEN, as every tool of the hub reads them, and the proxies."""
        endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
        token = os.environ.get("HF_TOKEN", "").strip()
        proxies = Proxies.from_environment()
        return cls(endpoint or "https://huggingface.co", token or None, proxies=proxies)


async def resolve(
    repo_id: str, revision: str | None, settings: HubSettings, file: str | None = None
) -> HubRevision:
    """What a branch, tag or commit (None: main) is now. `file`: a GGUF's name or quantisation.

    Raises SourceRefused, or HubUnreachable when the hub could not be asked.
    """
    if not _REPO_ID.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise SourceRefused(f"{repo_id!r} is no repository of the hub: expected 'owner/name'.")
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise SourceRefused(f"{revision!r} is no revision: expected a branch, a tag or a commit.")
    _check_endpoint(settings)
    found = await _ask(repo_id, revision, settings)
    if revision is not None and _COMMIT.fullmatch(revision) and found.commit != revision:
        raise SourceRefused(f"Asked for commit {revision} of {repo_id}, got {found.commit}.")
    if found.is_gated and settings.token is None:
        raise SourceRefused(_no_access(repo_id, settings))
    chosen = needed(repo_id, found.files, file)
    return HubRevision(repo_id, found.commit, chosen, found.licence, weights(found.files))


def remote(revision: HubRevision, file: HubFile, settings: HubSettings) -> Remote:
    """A file of the pinned commit, for `download.fetch`."""
    path = f"{revision.repo_id}/resolve/{revision.commit}/{quote(file.name)}"
    url = f"{settings.endpoint}/{path}"
    return Remote(url, file.size, file.sha256, settings.token, is_of_hub=True)


@dataclass(frozen=True, slots=True)
class _Info:
    commit: str
    files: list[HubFile]
    licence: str | None
    is_gated: bool


async def _ask(repo_id: str, revision: str | None, settings: HubSettings) -> _Info:
    """The hub's answer; asked again when it is only busy."""
    proxy = settings.proxies.for_url(settings.endpoint)
    way = f", through the proxy {proxy}" if proxy else ""
    HERE.mean(urlsplit(settings.endpoint).hostname or "", "the hub")
    if proxy is not None:
        HERE.mean(proxy.host, proxy.purpose)
    for attempt in range(1, settings.max_attempts + 1):
        try:
            # Each read has a timeout of its own; this one is for an answer that trickles.
            async with asyncio.timeout(2 * settings.timeout_s):
                return await _in_daemon(lambda: _model_info(repo_id, revision, settings, proxy))
        except (TimeoutError, Interrupted) as error:
            if attempt == settings.max_attempts:
                reason = str(error) or "it did not answer in time"
                raise HubUnreachable(
                    f"{settings.endpoint} could not be asked about {repo_id}{way}: {reason}."
                ) from error
        await asyncio.sleep(settings.backoff_s * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25))
    raise AssertionError("max_attempts is below 1")


def _model_info(
    repo_id: str, revision: str | None, settings: HubSettings, proxy: Proxy | None
) -> _Info:
    """Blocking. Raises SourceRefused, or Interrupted for what another attempt may mend."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read once, at the import
    # Imported late: a server that pulls nothing is spared a fifth of a second.
    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    from registry.download.refusal import proxy_refusal

    # False: not the token that a login left on the disk. The user agent names us alone, where
    # huggingface_hub would name the packages that are installed.
    api = HfApi(settings.endpoint, settings.token or False, headers={"user-agent": "mlx-edge"})
    try:
        info: ModelInfo = api.model_info(
            repo_id, revision=revision, files_metadata=True, timeout=settings.timeout_s
        )
        found = (_file(s.rfilename, s.size, s.lfs) for s in info.siblings or [])
        files = [file for file in found if file is not None]
        licence = getattr(info.card_data, "license", None)
        commit = str(info.sha)
        is_gated = bool(info.gated)
    except OfflineModeIsEnabled as error:
        raise SourceRefused(
            "HF_HUB_OFFLINE is set, so the hub is not asked. Unset it to pull."
        ) from error
    except RevisionNotFoundError as error:
        raise SourceRefused(f"{repo_id} has no revision '{revision}'.") from error
    except GatedRepoError as error:
        raise SourceRefused(_no_access(repo_id, settings)) from error
    except RepositoryNotFoundError as error:
        raise SourceRefused(_not_found(repo_id, settings)) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 407 and proxy is not None:
            raise proxy_refusal(proxy, "407", settings.endpoint) from error
        if status in RETRIED:
            raise Interrupted(f"it answered {status}") from error
        if status in (401, 403):
            raise SourceRefused(_no_access(repo_id, settings)) from error
        if status == 404:
            raise SourceRefused(_not_found(repo_id, settings)) from error
        raise SourceRefused(f"{settings.endpoint} answered {status} for {repo_id}.") from error
    except SourceRefused:
        raise
    except Exception as error:  # no connection, or JSON that is not what the hub sends
        if proxy is not None and type(error).__name__ == "ProxyError":  # of the hub's own library
            raise proxy_refusal(proxy, str(error), settings.endpoint) from error
        raise Interrupted(f"{type(error).__name__}: {error}") from error
    if not _COMMIT.fullmatch(commit):
        raise SourceRefused(f"{settings.endpoint} names no commit for {repo_id}.")
    return _Info(commit, files, licence if isinstance(licence, str) else None, is_gated)


def _file(name: object, size: object, lfs: object) -> HubFile | None:
    """An entry of the list; None for one that names no file. A size may be missing, or nonsense."""
    sha256 = getattr(lfs, "sha256", None)
    has_hash = isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)
    is_size = type(size) is int and size >= 0
    if not isinstance(name, str):
        return None
    return HubFile(name, int(str(size)) if is_size else None, str(sha256) if has_hash else None)


def _check_endpoint(settings: HubSettings) -> None:
    parts = urlsplit(settings.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceRefused(f"HF_ENDPOINT is {settings.endpoint!r}, expected an http(s) URL.")
    is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if settings.token and parts.scheme == "http" and not is_here:
        raise SourceRefused(
            f"HF_TOKEN would travel readable to {settings.endpoint}. Use https, or no token."
        )


def _no_access(repo_id: str, settings: HubSettings) -> str:
    page = f"{settings.endpoint}/{repo_id}"
    if settings.token is None:
        return (
            f"{repo_id} is gated: accept its terms at {page}, make a token at "
            f"{settings.endpoint}/settings/tokens, set HF_TOKEN to it and start again."
        )
    return f"HF_TOKEN may not read {repo_id}: accept its terms at {page}, or use another token."


def _not_found(repo_id: str, settings: HubSettings) -> str:
    private = "" if settings.token else " If it is private, set HF_TOKEN."
    return f"{settings.endpoint} has no model {repo_id}. Check the name.{private}"


async def _in_daemon(function: Callable[[], T]) -> T:
    """Run in a thread that nobody has to wait for: a hub that hangs does not hold up the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # cancelled meanwhile
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="hub", daemon=True).start()
    return await future
