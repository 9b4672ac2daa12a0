"""The key of a home's files: in the macOS Keychain, elsewhere in a file for its user alone."""

import contextlib
import hmac
import os
import secrets
from pathlib import Path

from runtime.memory import darwin

from .keychain import KeychainFailed, Secrets, account_of

_FILE = "prefixes.key"
_KEYCHAIN = Secrets("mlx-edge prefix cache")
_NUM_BYTES = 32


class KeyUnavailable(Exception):
    """There may be a key, and it cannot be had now."""


def load_or_make(home: Path) -> bytes:
    """The key; made at the first call, which must be the only one at that moment.

    Raises KeyUnavailable.
    """
    path = home / _FILE
    try:
        if (key := _of_file(path)) is not None:
            return key
        if darwin.is_here():
            if (key := _KEYCHAIN.find(account_of(home))) is not None:
                return key
            made = secrets.token_bytes(_NUM_BYTES)
            with contextlib.suppress(KeychainFailed):
                _KEYCHAIN.add(account_of(home), made)
                return made
        return _make_file(path)
    except (OSError, KeychainFailed) as error:
        raise KeyUnavailable(f"the key of {home} cannot be had: {error}") from error


def delete(home: Path) -> None:
    """Without it nothing can be read any more. Raises OSError or KeychainFailed."""
    (home / _FILE).unlink(missing_ok=True)
    if darwin.is_here():
        _KEYCHAIN.delete(account_of(home))


def derived(key: bytes, purpose: str) -> bytes:
    """A key for one purpose alone."""
    return hmac.digest(key, purpose.encode(), "sha256")


def _of_file(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != _NUM_BYTES:
        raise KeyUnavailable(f"{path} has {len(key)} bytes and not {_NUM_BYTES}: remove it")
    return key


def _make_file(path: Path) -> bytes:
    key = secrets.token_bytes(_NUM_BYTES)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    return key
