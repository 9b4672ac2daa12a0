"""`mlx-edge serve`: the server in the foreground."""

import asyncio
import contextlib
import errno
import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import cast

import click

from registry.checkpoint.kv_bits import KvBits
from registry.hub.catalog import STARTER_ID
from registry.jobs.jobs import Jobs
from registry.store.store import BUILT_IN_ID, Store
from runtime.disk.folder import Folder
from runtime.engine_messages import DiskCache
from runtime.engine_process import Watch
from runtime.pool import ModelPool
from runtime.power.awake import AwakeLoop
from runtime.processes import destinations
from runtime.processes.sealed import WAY_OUT, NotSealed
from runtime.residency import PoolSettings
from scripts.api_key import KEY_VARIABLE, KeyUnavailable, key_of_home
from scripts.api_key import load as load_key
from scripts.doctor.first_model import first_model
from scripts.doctor.memory import measured
from scripts.log_file import FORMAT, write_to
from scripts.service.listening import askable
from scripts.service.port import held
from scripts.settings import Duration, Size, provision_settings
from scripts.starter import bring, skip
from web.default_model import default_model
from web.server import serve as serve_web
from web.serving import note_loads
from web.settings import (
    DEFAULT_API_KEY,
    MAX_RESPONSES,
    ArchiveLimits,
    WebSettings,
    check_bind,
)

logger = logging.getLogger(__name__)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to bind.")
@click.option("--port", default=8083, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--api-key",
    default=key_of_home,
    envvar=KEY_VARIABLE,
    help="The key clients send; by default the one that `mlx-edge key` prints: "
    f"{DEFAULT_API_KEY}, on loopback only, where none was chosen.",
)
@click.option("--keep-alive", type=Duration(), default="30m", show_default=True,
              help="Unload a model that was idle this long; -1: never.")  # fmt: skip
@click.option("--max-rows", type=click.IntRange(1, 256), default=16, show_default=True,
              help="Requests of one model computed at once.")  # fmt: skip
@click.option("--max-queue", type=click.IntRange(0, 10_000), default=64, show_default=True,
              help="Requests of one model and priority that may wait beside them.")  # fmt: skip
@click.option("--prefix-cache", type=Size(),
              help="What prompts that were read may take in memory, for each model, so that they "
              "need not be read again: 2GB, or 0. By default an eighth of the memory.")  # fmt: skip
@click.option("--disk-cache", type=Size(), default="0", show_default=True,
              help="What these may take on disk, encrypted, for all models together, so that they "
              "outlive a restart: 10GB. At most half of the free space is taken.")  # fmt: skip
@click.option("--kv-bits", type=click.Choice(["4", "8", "16"]), default="16", show_default=True,
              help="Hold KV caches in so many bits, where models can; else 16.")  # fmt: skip
@click.option("--stored-responses", type=click.IntRange(0), default=MAX_RESPONSES,
              show_default=True, help="How many responses are kept in the home, for 30 days after "
              "the last turn; 0: none.")  # fmt: skip
@click.option("--allow-host", multiple=True, help="Another Host header to accept; repeatable.")
@click.option("--allow-origin", multiple=True, help="A web page's origin to accept; repeatable.")
@click.option("--drain-timeout", type=Duration(), default="20s", show_default=True,
              help="How long running answers may go on after SIGTERM.")  # fmt: skip
@click.option("--heartbeat", type=Duration(), default="30s", show_default=True,
              help="An engine silent this long counts as hung and is replaced.")  # fmt: skip
@click.option("--starter/--no-starter", default=None,
              help=f"Bring {STARTER_ID} (93 MB) beside the running server, once.")  # fmt: skip
@click.option("--preload", multiple=True, help="A model to load at once; repeatable.")
@click.option(
    "--allow-private-downloads",
    multiple=True,
    metavar="HOST",
    help="A host to download from although it is on a private network; repeatable.",
)
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path),
              help="Write there instead of to the terminal; the last 60 MB are kept.")  # fmt: skip
@click.pass_obj
def serve(
    home: Path,
    host: str,
    port: int,
    api_key: str,
    keep_alive: float,
    max_rows: int,
    max_queue: int,
    prefix_cache: int | None,
    disk_cache: int,
    kv_bits: str,
    stored_responses: int,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    drain_timeout: float,
    heartbeat: float,
    starter: bool | None,
    preload: tuple[str, ...],
    allow_private_downloads: tuple[str, ...],
    log_file: Path | None,
) -> None:
    """Serve the models of this machine."""
    destinations.listen()  # before anything could connect
    if log_file is not None:
        write_to(log_file)
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    if log_file is not None:  # which is read later, and has more than one start in it
        logger.info("mlx-edge %s starts, pid %d", version("mlx-edge"), os.getpid())
    provision = provision_settings(allow_private_downloads)
    settings = WebSettings(
        host=host,
        port=port,
        api_key=api_key,
        allowed_hosts=allow_host,
        allowed_origins=allow_origin,
        drain_timeout_s=drain_timeout,
        preload=preload,
        hub=provision.hub,
        archive=ArchiveLimits(max_responses=stored_responses),
    )
    try:
        check_bind(settings)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    # For ever is a week: an engine that is silent for so long is not coming back.
    beats = min(heartbeat, 7 * 86400) / Watch.beat_s
    watch = Watch(silent_beats=max(1, round(beats)))
    store = Store(home)
    pool = ModelPool(
        PoolSettings(
            max_rows,
            max_queue,
            keep_alive,
            prefix_cache_bytes=prefix_cache,
            disk_cache=_disk_cache(home, disk_cache),
            kv_bits=cast(KvBits, int(kv_bits)),
            watch=watch,
        ),
        on_load=note_loads(store),
        is_removed=lambda model: store.is_removed(model.id),
    )
    jobs = Jobs(store, provision)
    try:
        with asyncio.Runner(loop_factory=AwakeLoop) as runner:
            runner.run(_serve(settings, pool, store, jobs, starter))
    except NotSealed as error:
        raise click.ClickException(
            f"engines cannot be kept from the network here: {error}. {WAY_OUT}"
        ) from error
    except OSError as error:
        why = held(port) if error.errno == errno.EADDRINUSE else error.strerror
        raise click.ClickException(f"cannot serve on {host}:{port}: {why}") from error


def _disk_cache(home: Path, limit_bytes: int) -> DiskCache | None:
    """As engines are told it; what is there beyond the limit is removed now."""
    if not limit_bytes:
        return None
    try:
        Folder(home, limit_bytes).trim()
    except OSError as error:
        logging.warning("the disk cache could not be trimmed: %s", error)
    return DiskCache(str(home.resolve()), limit_bytes)


async def _serve(
    settings: WebSettings, pool: ModelPool, store: Store, jobs: Jobs, starter: bool | None
) -> None:
    """Serve, and bring the starter beside it where that is wanted (None: nobody said)."""
    beside: list[asyncio.Task[None]] = []

    def ready(url: str) -> None:
        _banner(url, settings, store)
        if starter is True:
            bringing = bring(jobs, store, lambda: click.echo(_example(url, settings, store)))
            beside.append(asyncio.create_task(bringing))
        elif starter is False:
            beside.append(asyncio.create_task(skip(jobs)))

    try:
        await serve_web(settings, pool, store, jobs, on_ready=ready)
    finally:
        for task in beside:  # its job has ended with the server
            await task


def _banner(url: str, settings: WebSettings, store: Store) -> None:
    """Told in one piece: who waits for its first line finds the others too."""
    key = settings.api_key if settings.api_key == DEFAULT_API_KEY else "the one you chose"
    lines = [
        f"Listening on {url}",
        f"Key:     {key}",
        _example(url, settings, store),
        f"Bigger:  {_bigger(store)}",
    ]
    click.echo("\n".join(lines))


def _bigger(store: Store) -> str:
    """How to get a model; where there is none yet, one that fits this machine well."""
    others = "mlx-edge list --catalog"
    if any(entry.is_ready and not entry.is_built_in for entry in store.entries()):
        return f"mlx-edge pull NAME   (names: {others})"
    here = measured(held=0)
    memory = f"this machine's {here.memory / (1 << 30):.0f} GB of memory"
    if (first := first_model(here.limit)) is None:
        return f"no model of the catalog fits {memory} well   (all: {others})"
    size = f"{first.size_bytes / 1e9:.1f} GB to fetch"
    return f"mlx-edge pull {first.name}   ({size}, fits {memory} well; others: {others})"


def _example(url: str, settings: WebSettings, store: Store) -> str:
    """The model that answers where nobody names one, and how to ask it: two lines."""
    model = default_model(store).id
    what = f"{model}, a very small one that is built in" if model == BUILT_IN_ID else model
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"Who are you?"}}]}}'
    url = askable(url)
    key = _key(settings, store)
    return (
        f"Model:   {what}; chat with it at {url}/\n"
        f'Try:     curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{body}'"
    )


def _key(settings: WebSettings, store: Store) -> str:
    """As a shell reads it: a key of one's own is not printed."""
    if settings.api_key == DEFAULT_API_KEY:
        return DEFAULT_API_KEY
    with contextlib.suppress(KeyUnavailable):
        if settings.api_key == load_key(store.home):
            return "$(mlx-edge key)"
    return f"${KEY_VARIABLE}"
