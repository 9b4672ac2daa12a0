"""`mlx-edge default`: which model the page and `chat` begin with."""

from pathlib import Path

import click

from registry.errors import ModelNotFound, RegistryError
from registry.store import choice
from registry.store.store import Store
from web.default_model import default_model
from web.errors import ApiError
from web.serving import servable, who_can


@click.command()
@click.argument("model_id", required=False)
@click.pass_obj
def default(home: Path, model_id: str | None) -> None:
    """The model that the page and `chat` begin with; with MODEL_ID, choose it."""
    store = Store(home)
    if model_id is None:
        click.echo(default_model(store).id)
        return
    try:
        model_id = servable(store, model_id).id
        choice.choose(home, model_id)
    except ModelNotFound as error:
        raise click.ClickException(f"{error}. {who_can(store, 'chat')}") from error
    except (RegistryError, ApiError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{home} cannot be written: {error.strerror}") from error
    click.echo(f"{model_id} is the default: the page and `mlx-edge chat` begin with it.")
