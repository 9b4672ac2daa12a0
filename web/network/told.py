"""GET /v1/network, as it is told here and read by `mlx-edge doctor --privacy`."""

import msgspec

from runtime.processes.destinations import Destination

from .processes import Process
from .reachable import Reachable


class Network(msgspec.Struct, frozen=True):
    """What a server can reach and did reach, and its processes."""

    reachable: list[Reachable]
    reached: list[Destination] = []  # beyond this machine
    loopback: list[Destination] = []
    num_unlisted: int = 0  # connections to destinations beyond those that are kept
    since: float | None = None  # unix seconds; None: nothing is recorded
    processes: list[Process] = []
    object: str = "network"
