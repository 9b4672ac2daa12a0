"""Where settings come from: flags beat the environment, which beats HOME/config.toml."""

import math
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import platformdirs

ENVIRONMENT_PREFIX = "MLX_EDGE"

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def default_home() -> Path:
    """The user's data folder for mlx-edge."""
    return Path(platformdirs.user_data_dir("mlx-edge", appauthor=False))


def read_config(home: Path) -> dict[str, Any]:
    """HOME/config.toml as defaults for the commands; empty if there is none."""
    path = home / "config.toml"
    try:
        config = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from error
    serve = {key.replace("-", "_"): value for key, value in config.get("serve", {}).items()}
    return {"serve": serve}


class Duration(click.ParamType[float]):
    """Seconds, or a number with s, m or h; -1 is for ever."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value).strip()
        if text in ("-1", "inf"):
            return math.inf
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text)
        if match is None:
            self.fail(
                f"{value!r} is no duration; write 90, 90s, 30m, 2h, or -1 for ever", param, ctx
            )
        return float(match[1]) * _UNITS[match[2]]
