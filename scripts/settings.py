"""Where settings come from: flags beat the environment, which beats HOME/config.toml."""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import platformdirs

from registry.download.remote import DownloadSettings
from registry.hub.repository import HubSettings
from registry.jobs.acquire import ProvisionSettings
from web import duration

ENVIRONMENT_PREFIX = "MLX_EDGE"


def default_home() -> Path:
    """The user's data folder for mlx-edge."""
    return Path(platformdirs.user_data_dir("mlx-edge", appauthor=False))


def read_config(home: Path, tables: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """HOME/config.toml as defaults for the commands; empty if there is none.

    `tables` are the commands and their settings; anything else in the file is an error.
    """
    path = home / "config.toml"
    try:
        config = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from error
    for name, table in config.items():
        if name not in tables or not isinstance(table, dict):
            raise click.ClickException(
                f"{path} has {name!r}, which is none of its tables: {', '.join(sorted(tables))}"
            )
        for key in table:
            if key.replace("-", "_") not in tables[name]:
                raise click.ClickException(f"{path}: [{name}] knows no {key!r}")
    return {
        name: {key.replace("-", "_"): value for key, value in table.items()}
        for name, table in config.items()
    }


def provision_settings(allowed_private_hosts: tuple[str, ...] = ()) -> ProvisionSettings:
    """Reads HF_ENDPOINT, whose host may be on a private network, HF_TOKEN, and the proxies."""
    hub = HubSettings.from_environment()
    if os.environ.get("HF_ENDPOINT"):
        allowed_private_hosts += (urlsplit(hub.endpoint).netloc,)
    return ProvisionSettings(DownloadSettings(allowed_private_hosts, hub.proxies), hub)


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


class Size(click.ParamType[int]):
    """Bytes, or a number with KB, MB, GB or TB (KiB and so on are the powers of two)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no size; write 10GB, 512MB or 0", param, ctx)
        base = 1024 if match[3] else 1000
        return int(float(match[1]) * base ** " KMGT".index(match[2].upper() or " "))


class Duration(click.ParamType[float]):
    """Seconds, or a number with s, m or h; -1 is for ever."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return duration.seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
