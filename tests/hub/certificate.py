"""A certificate for tests, signed by itself."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """For some names; `path` is also the authority to trust, as SSL_CERT_FILE takes it."""

    path: Path
    key: Path

    def served(self) -> ssl.SSLContext:
        """Of a server that shows it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path, self.key)
        return context

    def trusted(self) -> ssl.SSLContext:
        """Of a client that trusts it, and nothing else."""
        return ssl.create_default_context(cafile=self.path)


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Skips the test where there is no openssl."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={names[0]}", "-addext"]
    command += ["subjectAltName=" + ",".join(f"DNS:{name}" for name in names)]
    command += ["-keyout", str(made.key), "-out", str(made.path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs openssl")
    return made
