"""What can go wrong for the menu bar, in words for its user.

Trouble
├── Unreachable   nobody answers at the server's address
├── WrongKey      the server wants another key
├── Refused       the server said no, and why
└── NotDone       a program of this machine failed
"""


class Trouble(Exception):
    """Base of all. Its text is shown as it is."""


class Unreachable(Trouble):
    """Nobody answers there."""


class WrongKey(Trouble):
    """The server answers, but not to this key."""


class Refused(Trouble):
    """The server's own words; or somebody answered who is no mlx-edge."""


class NotDone(Trouble):
    """`open`, `pbcopy` or `mlx-edge service` failed."""
