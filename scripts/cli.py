"""The `mlx-edge` command: serve, and look after models on disk and in memory."""

import importlib.metadata
from pathlib import Path

import click

from registry.errors import RegistryError
from registry.store import Entry, Store
from scripts.bench.command import bench
from scripts.remote import load, ps, unload
from scripts.serve import serve
from scripts.settings import ENVIRONMENT_PREFIX, default_home, read_config


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
    context.obj = home
    context.default_map = read_config(
        home, {name: [str(option.name) for option in command.params]
               for name, command in cli.commands.items()}
    )  # fmt: skip


@cli.command("import")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--id", "model_id", required=True, help="The name to serve it under.")
@click.option("--link", is_flag=True, help="Leave the files where they are.")
@click.pass_obj
def import_(home: Path, path: Path, model_id: str, link: bool) -> None:
    """Register a local folder of MLX weights."""
    try:
        entry = Store(home).import_folder(path, model_id, link=link)
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{entry.id} is ready ({entry.size_bytes / 1e6:.1f} MB).")


@cli.command("list")
@click.pass_obj
def list_(home: Path) -> None:
    """The models on disk."""
    for entry in Store(home).entries():
        state = "ready" if entry.is_ready else "not ready"
        click.echo(f"{entry.id:32} {entry.kind:6} {entry.size_bytes / 1e6:10.1f} MB  {state}")


@cli.command()
@click.argument("model_id")
@click.pass_obj
def show(home: Path, model_id: str) -> None:
    """One model on disk."""
    entry = _entry(home, model_id)
    for name, value in [
        ("id", entry.id),
        ("kind", entry.kind),
        ("folder", entry.folder),
        ("size", f"{entry.size_bytes / 1e6:.1f} MB"),
        ("ready", "yes" if entry.is_ready else "no"),
    ]:
        click.echo(f"{name:8} {value}")


@cli.command()
@click.argument("model_id")
@click.pass_obj
def rm(home: Path, model_id: str) -> None:
    """Remove a model from disk; a linked folder stays."""
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


for command in (serve, ps, load, unload, bench):
    cli.add_command(command)


def main() -> None:
    """The console script's entry."""
    cli(auto_envvar_prefix=ENVIRONMENT_PREFIX)


if __name__ == "__main__":
    main()
