"""Tests of who holds a port."""

import os
import shutil
import socket

import psutil
import pytest

from runtime.memory import darwin
from scripts.service import listening, port
from scripts.service.port import Holder
from tests import processes


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_held(host: str) -> None:
    """By this process; and free again, when it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        number = listener.getsockname()[1]
        assert not port.is_free(host, number)
        assert port.holder(number) == Holder(os.getpid(), psutil.Process().name())
        assert f"(pid {os.getpid()})" in port.held(number)
    assert port.is_free(host, number) and port.holder(number) is None


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError):
        port.is_free("192.0.2.1", 0)


def test_as_macos_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By lsof, whose words are the same here."""
    tool = shutil.which("lsof")
    if tool is None:
        pytest.skip("no lsof here")
    monkeypatch.setattr(port, "lsof", tool)
    monkeypatch.setattr(darwin, "is_here", lambda: True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        found = port.holder(number)
        assert found is not None and found.pid == os.getpid()
        assert found.name.startswith(psutil.Process().name()[:8])
    assert port.holder(number) is None


def test_a_holder_that_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "lsof", "/nothing")
    monkeypatch.setattr(darwin, "is_here", lambda: True)
    assert "another user" in port.held(9)


@pytest.mark.parametrize(
    ("address", "asked"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")]
)
def test_where_a_process_listens(address: str, asked: str) -> None:
    """An address that means all is told as one that can be asked."""
    with processes.listening(address) as process:
        assert listening.url(process.pid) == f"http://{asked}:{process.port}"


def test_a_process_that_does_not_listen() -> None:
    """Yet, or any more."""
    with processes.listening() as process:
        assert listening.url(process.pid) is None
    assert listening.url(process.pid) is None
