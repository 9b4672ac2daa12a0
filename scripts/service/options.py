"""The options of `serve` that a service gets, found sound before anything is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
from click.core import ParameterSource

from scripts import api_key
from scripts.serve import serve
from web.settings import DEFAULT_API_KEY, WebSettings, check_bind


class Options(NamedTuple):
    """What of them matters here."""

    host: str
    port: int
    drain_s: float


def parsed(context: click.Context, arguments: Sequence[str]) -> Options:
    """As `serve` itself will read them, config.toml too. Raises click's errors."""
    root = context.find_root()
    with serve.make_context("serve", list(arguments), parent=root) as inner:
        given = {
            name for name in inner.params
            if inner.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }  # fmt: skip
        for name, why in (
            ("api_key", "it could be read in the file of the service and by `ps`. "
                        "`mlx-edge key set` keeps it where only you read it"),
            ("log_file", "the service has a log of its own: `mlx-edge service logs`"),
        ):  # fmt: skip
            if name in given:
                raise click.UsageError(f"--{name.replace('_', '-')} is not for a service: {why}.")
        options = Options(inner.params["host"], inner.params["port"], inner.params["drain_timeout"])
        is_configured = inner.get_parameter_source("api_key") is ParameterSource.DEFAULT_MAP
        key = inner.params["api_key"] if is_configured else _kept(root.obj)
    try:
        check_bind(WebSettings(host=options.host, port=options.port, api_key=key))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    return options


def _kept(home: Path) -> str:
    """The key that a service will find: the environment of this shell is not its own."""
    return api_key.load(home) or DEFAULT_API_KEY
