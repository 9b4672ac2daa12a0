"""A child that tries to reach somebody: `python -m scripts.doctor.privacy.attempt TCP UDP`.

Started by `proof` as the server starts its own. It says as JSON what became of each way: why it
failed, or nothing where it did not. TCP and UDP are ports on loopback that `proof` listens at.
"""

import contextlib
import json
import socket
import sys
from collections.abc import Callable

HERE = "127.0.0.1"
# No such name exists, and no resolver may think so (RFC 6761, 6.4): whose answer is that there is
# none was reached all the same.
_NO_NAME = "mlx-edge.invalid"
LETTER = b"mlx-edge doctor"


def tcp(port: int) -> str | None:
    """Connect."""
    return _failure(lambda: socket.create_connection((HERE, port), timeout=5).close())


def udp(port: int) -> str | None:
    """Send a datagram."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            opened.sendto(LETTER, (HERE, port))

    return _failure(send)


def name() -> str | None:
    """Ask for a name. macOS says "none" too where nobody could be asked, so that proves nothing."""
    with contextlib.suppress(UnicodeError):
        try:
            socket.getaddrinfo(_NO_NAME, 443)
        except socket.gaierror as error:
            if error.errno != socket.EAI_NONAME or sys.platform == "darwin":
                return error.strerror or str(error)
        except OSError as error:
            return error.strerror or str(error)
    return None


def _failure(way: Callable[[], None]) -> str | None:
    try:
        way()
    except OSError as error:
        return error.strerror or str(error)
    return None


if __name__ == "__main__":
    _tcp, _udp = map(int, sys.argv[1:3])
    print(json.dumps({"TCP": tcp(_tcp), "UDP": udp(_udp), "a name": name()}))
