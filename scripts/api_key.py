"""The API key of a home: in the macOS Keychain, elsewhere in a file for its user alone.

A server of this home takes it, and commands that talk to a server on this machine send it, where
neither a flag nor the environment nor config.toml names another.
"""

import os
import secrets
import stat
from pathlib import Path
from urllib.parse import urlsplit

import click

from registry.store import durable
from runtime.disk.keychain import KeychainFailed, Secrets, account_of
from runtime.memory import darwin
from scripts.settings import ENVIRONMENT_PREFIX
from web.settings import DEFAULT_API_KEY, check_key, is_loopback

KEY_VARIABLE = f"{ENVIRONMENT_PREFIX}_API_KEY"

_FILE = "api-key"
_KEYCHAIN = Secrets("mlx-edge API key")


class KeyUnavailable(click.ClickException):
    """There may be a key, and it cannot be had or kept now."""


def load(home: Path) -> str | None:
    """The key; None where the default one is used. Raises KeyUnavailable."""
    try:
        kept = _of_file(home / _FILE)
        if kept is None and darwin.is_here():
            kept = _KEYCHAIN.find(account_of(home))
        if kept is None:
            return None
        key = kept.decode("ascii", "replace").rstrip("\n")
        check_key(key)
    except (OSError, KeychainFailed) as error:
        raise KeyUnavailable(f"the key of {home} cannot be had: {error}") from error
    except ValueError as error:
        raise KeyUnavailable(
            f"what is kept as the key of {home} is none: {error}. `mlx-edge key new` makes another."
        ) from error
    return key


def save(home: Path, key: str) -> str:
    """Keep a key in place of the one before, and say where. Raises KeyUnavailable, ValueError."""
    check_key(key)
    path = home / _FILE
    try:
        if darwin.is_here():
            try:
                _KEYCHAIN.add(account_of(home), key.encode())
                path.unlink(missing_ok=True)  # it would be read first
                return "the Keychain"
            except KeychainFailed:
                pass  # it is locked, say, in a session over ssh: the file is for the user alone
        durable.make_folder(home)
        durable.replace(path, f"{key}\n".encode())
    except OSError as error:
        raise KeyUnavailable(f"the key of {home} cannot be kept: {error}") from error
    return str(path)


def forget(home: Path) -> None:
    """Go back to the default key. Raises KeyUnavailable."""
    try:
        (home / _FILE).unlink(missing_ok=True)
        if darwin.is_here():
            _KEYCHAIN.delete(account_of(home))
    except (OSError, KeychainFailed) as error:
        raise KeyUnavailable(f"the key of {home} cannot be forgotten: {error}") from error


def made() -> str:
    """A key that nobody guesses, and that a shell, a header and a URL take as it is."""
    return secrets.token_urlsafe(32)


def key_of_home() -> str:
    """The key that a server of this command's home asks for, unless it is told another. Raises
    KeyUnavailable.
    """
    home: Path = click.get_current_context().find_root().obj
    configured = key_of_config()
    return (load(home) or DEFAULT_API_KEY) if configured is None else configured


def key_of_config() -> str | None:
    """The one that config.toml has for `serve`, which is taken before any that is kept."""
    tables = click.get_current_context().find_root().default_map or {}
    configured = tables.get("serve", {}).get("api_key")
    return None if configured is None else str(configured)


def key_of_server() -> str:
    """The key for the server that this command talks to, by its option --server.

    One on another machine has a key of its own, and is not shown ours.
    """
    server: str = click.get_current_context().params["server"]
    try:
        host = urlsplit(server).hostname or ""
    except ValueError:
        host = ""
    return key_of_home() if is_loopback(host) else DEFAULT_API_KEY


def _of_file(path: Path) -> bytes | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyUnavailable(
                f"{path} may be read by others (mode {stat.S_IMODE(mode):04o}), so its key is "
                f"not used: make another with `mlx-edge key new`, or `chmod 600 '{path}'`"
            )
        return file.read(1024)
