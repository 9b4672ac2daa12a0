"""Tests of runtime.processes.destinations: no connection is missed, and each has its purpose."""

import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from runtime.processes import destinations
from runtime.processes.destinations import Destinations, is_loopback
from tests.serving import ROOT

# An audit hook stays for the life of a process, so each test has one of its own.
_BEGIN = """
import asyncio, dataclasses, json, socket, sys
from runtime.processes import destinations
from runtime.processes.destinations import HERE
destinations.listen()
"""
_END = "\nprint(json.dumps([dataclasses.asdict(one) for one in HERE.all()]))"


def heard(code: str, *arguments: str) -> list[dict[str, Any]]:
    """What a process recorded that ran this code."""
    command = [sys.executable, "-c", _BEGIN + code + _END, *arguments]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def ends(found: list[dict[str, Any]]) -> list[tuple[str | None, str | None, int]]:
    return [(one["host"], one["ip"], one["port"]) for one in found]


@pytest.mark.parametrize(
    "code",
    [
        "socket.create_connection(('localhost', port)).close()",
        "asyncio.run(connect())",
        "import http.client; http.client.HTTPConnection('LOCALHOST', port).connect()",
        "import urllib3.util.connection as c; c.create_connection(('localhost', port)).close()",
    ],
    ids=["socket", "asyncio", "http.client", "urllib3"],
)
def test_whatever_library_connects(code: str) -> None:
    """The name is found to the address, however it was spelt; and it counts as this machine."""
    if "urllib3" in code:
        pytest.importorskip("urllib3")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        before = (
            f"port = {port}\n"
            "async def connect():\n"
            "    (await asyncio.open_connection('localhost', port))[1].close()\n"
        )
        found = heard(before + code)
    assert ("localhost", "127.0.0.1", port) in ends(found)
    assert all(is_loopback(one["ip"]) for one in found)


def test_datagrams_count_and_pairs_do_not() -> None:
    """A datagram goes somewhere without a connection; what stays in this process goes nowhere."""
    found = heard(
        "ours, theirs = socket.socketpair(); ours.send(b'x'); theirs.recv(1)\n"
        "try: socket.socket(socket.AF_UNIX).connect('/nowhere')\n"
        "except OSError: pass\n"
        "letterbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "letterbox.bind(('127.0.0.1', 0)); port = letterbox.getsockname()[1]\n"
        "sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "there = ('127.0.0.1', port)\n"
        "sender.sendto(b'x', there); sender.sendmsg([b'x'], [], 0, there)"
    )
    assert [(one["ip"], one["count"]) for one in found] == [("127.0.0.1", 2)]


def test_a_name_that_leads_nowhere_was_asked_for_all_the_same() -> None:
    """A resolver was told of it. That it is not there is not the record's doing."""
    found = heard(
        "for host in ('mlx-edge.invalid', b'mlx-edge.invalid', '127.0.0.1', None):\n"
        "    try: socket.getaddrinfo(host, 443)\n"
        "    except OSError: pass"
    )
    assert ends(found) == [("mlx-edge.invalid", None, 443)] and found[0]["count"] == 2
    assert found[0]["purpose"] is None


def test_what_is_no_address_fails_as_ever() -> None:
    """The hook changes no outcome, whatever a library hands to a socket."""
    heard(
        "for address in (None, 5, ('127.0.0.1',), ('127.0.0.1', 'x')):\n"
        "    try: socket.socket().connect(address)\n"
        "    except (TypeError, OSError): pass\n"
        "    else: raise AssertionError(address)"
    )


def test_who_means_a_destination_says_what_for() -> None:
    """By name or address; what is connected to without a word stands out, and keeps doing so."""
    record = Destinations()
    record.mean("Hub.Example.", "the hub")
    record.name("hub.example", ["203.0.113.1"])
    record.note(None, "203.0.113.1", 443)
    record.mean("203.0.113.2", "a proxy")
    record.note(None, "203.0.113.2", 3128)
    record.note(None, "203.0.113.3", 443)
    record.note("elsewhere.example", None, 0)
    told = [(one.host, one.ip, one.purpose) for one in record.all()]
    assert told == [
        ("hub.example", "203.0.113.1", "the hub"),
        (None, "203.0.113.2", "a proxy"),
        (None, "203.0.113.3", None),
        ("elsewhere.example", None, None),
    ]


def test_the_same_end_is_counted() -> None:
    """With the times of its first and its last; a name that was reached is not told twice."""
    record = Destinations()
    record.name("a.example", ["203.0.113.1"])
    record.note("a.example", None, 443)
    for _ in range(3):
        record.note(None, "203.0.113.1", 443)
    (one,) = record.all()
    assert (one.host, one.count) == ("a.example", 3) and one.first_at <= one.last_at


def test_the_record_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond it is counted, so that it is known to be there."""
    monkeypatch.setattr(destinations, "_MAX_KNOWN", 3)
    record = Destinations()
    for number in range(5):
        record.mean(f"{number}.example", "a test")
        record.name(f"{number}.example", [f"203.0.113.{number}"])
        record.note(None, f"203.0.113.{number}", 443)
    assert len(record.all()) == 3 and record.num_unlisted == 2


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("0.0.0.0", True), ("localhost", True), ("a.localhost", True), ("192.168.0.1", False),
     ("fe80::1%en0", False), ("2001:db8::1", False), ("localhost.example", False)],
)  # fmt: skip
def test_what_this_machine_is(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here
