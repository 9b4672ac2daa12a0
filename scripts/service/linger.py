"""Whether systemd keeps a user's services when the user logs out.

Contract, by loginctl(1): `show-user UID -p Linger --value` prints yes or no.
"""

import os

from .supervisor import SupervisorFailed, ask

_LIMIT_S = 5.0


def note() -> str | None:
    """What to do where it does not; None also where nobody knows, as in a container."""
    command = ["loginctl", "show-user", str(os.getuid()), "-p", "Linger", "--value"]
    try:
        told = ask(command, _LIMIT_S, fails="it is not known whether services outlive a session")
    except SupervisorFailed:
        return None
    if told.returncode or told.stdout.strip() != "no":
        return None
    return "it ends when you log out; `loginctl enable-linger` keeps it, and starts it at boot"
