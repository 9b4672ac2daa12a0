"""A service manager, one of each kind in turn."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.service_managers import ServiceManager, launchd_stand_in, systemd

MANAGERS = {"systemd": systemd, "launchd": launchd_stand_in}


@pytest.fixture(params=MANAGERS)
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    with MANAGERS[request.param](tmp_path) as made:
        yield made
        pids = [process.pid for process in made.processes()]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
