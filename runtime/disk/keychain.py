"""Secrets in the macOS Keychain, through the tool `security`.

Contract, by security(1): `find-generic-password -a ACCOUNT -s SERVICE -w` prints the secret and a
newline; it and `delete-generic-password` exit with 44 (errSecItemNotFound) where there is none,
and with another status where the Keychain is locked or may not be asked. `security -i` reads
commands from its standard input: a secret among its arguments could be read by every process.
"""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NOT_FOUND = 44
_LIMIT_S = 20.0  # a Keychain that asks a person waits for ever

tool = "/usr/bin/security"


class KeychainFailed(Exception):
    """The Keychain does not answer, or not to us."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Those of one kind, by account. `kind` is the name under which a person finds them."""

    kind: str

    def find(self, account: str) -> bytes | None:
        """The secret of an account; None if it has none. Raises KeychainFailed."""
        found = _run(["find-generic-password", "-a", account, "-s", self.kind, "-w"])
        return None if found is None else _secret(found)

    def add(self, account: str, secret: bytes) -> None:
        """Give an account a secret, in place of the one it has. Raises KeychainFailed."""
        command = f'add-generic-password -U -a "{account}" -s "{self.kind}" -w "{secret.hex()}"\n'
        _run(["-i"], command)
        if self.find(account) != secret:  # the status of `-i` says nothing of its commands
            raise KeychainFailed("the Keychain did not keep the key")

    def delete(self, account: str) -> None:
        """Forget an account's secret, if it has one. Raises KeychainFailed."""
        _run(["delete-generic-password", "-a", account, "-s", self.kind])


def account_of(home: Path) -> str:
    """A home's name here, without a character that a command would have to quote."""
    return hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:32]


def _secret(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise KeychainFailed("what the Keychain holds is no key of ours") from None


def _run(arguments: list[str], text: str = "") -> str | None:
    """What the tool printed; None where there is no such item."""
    try:
        ended = subprocess.run(
            [tool, *arguments], input=text, capture_output=True, text=True, timeout=_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeychainFailed(f"{tool} does not run: {type(error).__name__}") from None
    if ended.returncode == _NOT_FOUND:
        return None
    if ended.returncode:
        raise KeychainFailed(f"{tool} ended with {ended.returncode}")
    return ended.stdout.strip()
