"""The `mlx-edge` command: serve, and look after models on disk and in memory."""

import importlib.metadata
from pathlib import Path

import click

from registry.checkpoint.names import is_text, shown
from registry.errors import RegistryError
from registry.hub.catalog import CATALOG
from registry.store.store import Entry, Store
from scripts.bench.command import bench
from scripts.cache import cache
from scripts.chat import chat
from scripts.default import default
from scripts.description import described
from scripts.doctor.command import doctor
from scripts.key import key
from scripts.launch import launch
from scripts.menubar.command import menubar
from scripts.pause import pause, resume
from scripts.remote import load, ps, unload
from scripts.serve import serve
from scripts.service.command import service
from scripts.settings import ENVIRONMENT_PREFIX, default_home, read_config

from .jobs import convert, import_, pull, verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(importlib.metadata.version("mlx-edge"), prog_name="mlx-edge")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_home,
    envvar=f"{ENVIRONMENT_PREFIX}_HOME",
    help="The folder of models, caches and config.toml.",
)
@click.pass_context
def cli(context: click.Context, home: Path) -> None:
    """Turn this machine into a private AI endpoint."""
    if not is_text(home):
        raise click.UsageError(
            f"{shown(home)} has a name that is not UTF-8, and cannot be written down: choose "
            "another --home."
        )
    context.obj = home
    context.default_map = read_config(
        home, {name: [str(option.name) for option in command.params]
               for name, command in cli.commands.items()}
    )  # fmt: skip


@cli.command("list")
@click.option("--catalog", "is_catalog", is_flag=True, help="Those that `pull` has a name for.")
@click.pass_obj
def list_(home: Path, is_catalog: bool) -> None:
    """The models on disk."""
    entries = Store(home).entries()
    if is_catalog:
        here = {entry.id for entry in entries if entry.is_ready}
        for known in CATALOG.values():
            state = "here" if known.name in here else f"{known.size_bytes / 1e6:.0f} MB to fetch"
            click.echo(f"{known.name:24} {known.kind:6} {state:>16}  {known.description}")
        return
    for entry in entries:
        state = "ready" if entry.is_ready else "not ready"
        click.echo(f"{entry.id:32} {entry.kind:6} {entry.size_bytes / 1e6:10.1f} MB  {state}")


@cli.command()
@click.argument("model_id")
@click.pass_obj
def show(home: Path, model_id: str) -> None:
    """One model on disk: what it is, and where it came from."""
    for name, value in described(_entry(home, model_id)):
        click.echo(f"{name:12} {value}")


@cli.command()
@click.argument("model_id")
@click.pass_obj
def rm(home: Path, model_id: str) -> None:
    """Remove a model from disk, and from the memory of a server; a linked folder stays."""
    try:
        Store(home).remove(model_id)
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{model_id} is removed.")


def _entry(home: Path, model_id: str) -> Entry:
    try:
        return Store(home).get(model_id)
    except RegistryError as error:
        raise click.ClickException(str(error)) from error


for command in (
    serve,
    pull,
    import_,
    convert,
    verify,
    ps,
    load,
    unload,
    pause,
    resume,
    cache,
    chat,
    launch,
    default,
    key,
    service,
    doctor,
    menubar,
    bench,
):
    cli.add_command(command)


def main() -> None:
    """The console script's entry."""
    cli(auto_envvar_prefix=ENVIRONMENT_PREFIX)


if __name__ == "__main__":
    main()
