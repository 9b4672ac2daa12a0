"""Tests of open connections: what leads beyond this machine, and what a record explains of it."""

import os
import socket
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from runtime.processes.destinations import Destination
from scripts.doctor.privacy import findings
from scripts.doctor.privacy.connections import Open, Unseen, open_now
from web.network.told import Network

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def end(ip: str, port: int) -> SimpleNamespace:
    return SimpleNamespace(ip=ip, port=port)


def connection(kind: int, local: int, remote: SimpleNamespace | tuple[()]) -> SimpleNamespace:
    return SimpleNamespace(type=kind, laddr=end("192.0.2.1", local), raddr=remote)


def process_with(*found: SimpleNamespace) -> Any:
    return lambda pid: SimpleNamespace(net_connections=lambda kind: list(found))


def test_only_what_the_server_began_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client, no listener, no resolver, nothing on loopback."""
    away = end("203.0.113.1", 443)
    seen = process_with(
        connection(TCP, 50000, away),
        connection(TCP, 8083, end("192.0.2.9", 60000)),
        connection(TCP, 8083, ()),
        connection(TCP, 50001, end("127.0.0.1", 9000)),
        connection(UDP, 50002, end("192.0.2.53", 53)),
        connection(TCP, 50003, end("192.0.2.53", 53)),
    )
    monkeypatch.setattr(psutil, "Process", seen)
    assert open_now([7], 8083) == [Open(7, "203.0.113.1", 443), Open(7, "192.0.2.53", 53)]


def test_a_real_connection_on_loopback_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()):
            assert open_now([os.getpid(), 0x7FFFFFF], 1) == []


def test_a_process_of_another_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(pid: int) -> Any:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", denied)
    with pytest.raises(Unseen, match="another user"):
        open_now([1], 8083)


@pytest.mark.parametrize(("purpose", "level"), [("the hub", "ok"), (None, "problem")])
def test_what_the_record_explains(purpose: str | None, level: str) -> None:
    now = time.time()
    known = Destination("hub.example", "203.0.113.1", 443, 1, now, now, purpose)
    told = Network([], reached=[known], since=now)
    (finding,) = findings.open_now([Open(7, "203.0.113.1", 443)], told)
    assert finding.level == level and (finding.remedy is None) is (level == "ok")
    (stranger,) = findings.open_now([Open(7, "203.0.113.9", 443)], told)
    assert stranger.level == "problem" and "203.0.113.9" in stranger.sentence
