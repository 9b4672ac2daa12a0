"""The options of `serve` that a service gets, found sound before anything is written."""

from collections.abc import Sequence
from typing import NamedTuple

import click
from click.core import ParameterSource

from scripts.api_key import key_of_home
from scripts.serve import serve
from web.settings import WebSettings, check_bind


class Options(NamedTuple):
    """What of them matters here."""

    host: str
    port: int
    drain_s: float
    api_key: str  # as the service will find it: the environment of this shell is not its own


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
        host, port, drain_s = (inner.params[name] for name in ("host", "port", "drain_timeout"))
    options = Options(host, port, drain_s, key_of_home())
    try:
        check_bind(WebSettings(host=host, port=port, api_key=options.api_key))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    return options
