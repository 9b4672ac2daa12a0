"""What of the user's environment a service gets: it is written into a file that others may read."""

from collections.abc import Mapping
from typing import NamedTuple

from runtime.processes.sealed import UNSEALED
from runtime.processes.spawn import TOKENS
from scripts.api_key import KEY_VARIABLE
from scripts.settings import ENVIRONMENT_PREFIX
from web.settings import DEFAULT_API_KEY

_NAMES = {
    "HF_ENDPOINT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    UNSEALED,
}
_OPTIONS = f"{ENVIRONMENT_PREFIX}_SERVE_"  # an option of `serve` for each
_KEYS = (KEY_VARIABLE, f"{_OPTIONS}API_KEY")


class Kept(NamedTuple):
    values: dict[str, str]
    secrets: tuple[str, ...]  # variables that are set, would matter, and are left out


def kept(environment: Mapping[str, str]) -> Kept:
    """What a server has use for. A URL with a user in it mostly has a password in it too."""
    values, secrets = {}, []
    for name, value in sorted(environment.items()):
        if not value:
            continue
        if name in (*_KEYS, *TOKENS):
            secrets.append(name)
        elif name.upper() in _NAMES or name.startswith(_OPTIONS):
            if "@" in value or "KEY" in name or any(not char.isprintable() for char in value):
                secrets.append(name)
            else:
                values[name] = value
    return Kept(values, tuple(secrets))


def without(name: str, api_key: str) -> str:
    """How it is without this secret, in a sentence; `api_key` is what the service finds."""
    told = f"{name} is not in it: it may hold a secret, and others may read the file."
    if name in _KEYS:
        taken = DEFAULT_API_KEY if api_key == DEFAULT_API_KEY else "what `mlx-edge key` prints"
        return f"{told} The server takes {taken}; `mlx-edge key set` keeps another."
    if name in TOKENS:
        return f"{told} Gated models are brought by `mlx-edge pull` in a shell that has it."
    return told
