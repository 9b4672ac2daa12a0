"""What of the user's environment a service gets: it is written into a file that others may read."""

from collections.abc import Mapping
from typing import NamedTuple

from scripts.settings import ENVIRONMENT_PREFIX

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
}
_OPTIONS = f"{ENVIRONMENT_PREFIX}_SERVE_"  # an option of `serve` for each
_SECRETS = (f"{ENVIRONMENT_PREFIX}_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


class Kept(NamedTuple):
    values: dict[str, str]
    secrets: tuple[str, ...]  # variables that are set, would matter, and are left out


def kept(environment: Mapping[str, str]) -> Kept:
    """What a server has use for. A URL with a user in it mostly has a password in it too."""
    values, secrets = {}, []
    for name, value in sorted(environment.items()):
        if not value:
            continue
        if name in _SECRETS:
            secrets.append(name)
        elif name.upper() in _NAMES or name.startswith(_OPTIONS):
            if "@" in value or "KEY" in name or any(not char.isprintable() for char in value):
                secrets.append(name)
            else:
                values[name] = value
    return Kept(values, tuple(secrets))
