"""`python -m tests.leaking_cli …`: the mlx-edge command, whose server goes where nobody asked.

So it seems: the audit event of such a connection is raised, and nothing is sent.
"""

import socket
import sys

from runtime.processes import destinations
from scripts.cli import main

SOMEBODY = ("192.0.2.7", 443)  # an address of the documentation (RFC 5737)
_listen = destinations.listen


def _listen_and_leak(on_reach: destinations.OnReach = destinations.HERE.note) -> None:
    _listen(on_reach)
    with socket.socket() as opened:
        sys.audit("socket.connect", opened, SOMEBODY)


if __name__ == "__main__":
    destinations.listen = _listen_and_leak
    main()
