"""How long the end takes, whatever is in its way; its exit status; who is left behind."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.serving import ROOT, ServerProcess, read_all
from tests.web.ending.asked import APIS, ask, ends, load, terminate, until
from web.settings import END_S, longest_end_s


@pytest.mark.slow
@pytest.mark.parametrize("is_busy", [True, False])
def test_stopped_children_do_not_hold_it_up(home: Path, is_busy: bool) -> None:
    """SIGSTOP of the engine and of both text workers; what streams is told all the same."""
    with ServerProcess(home, "--drain-timeout", "0s") as server:
        load(server)
        sock = ask(server, APIS["chat"], 8000, stream=True)
        until(sock, APIS["chat"].text)
        if not is_busy:
            sock.close()
            server.wait_until_empty()
        children = server.children()
        assert len(children) == 3
        for child in children:
            child.suspend()
        server.process.terminate()
        if is_busy:
            with sock:
                assert b"shutting down" in read_all(sock)
        ends(server)
        assert not psutil.wait_procs(children, timeout=5)[1]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_waits_for_nobody(home: Path, second: signal.Signals) -> None:
    """Neither for the drain, which has no limit here, nor for children that are stopped; and the
    stream has its last event."""
    with ServerProcess(home, "--drain-timeout", "-1", "--disk-cache", "1GB") as server:
        load(server)
        sock = ask(server, APIS["chat"], 8000, stream=True)
        until(sock, APIS["chat"].text)
        children = server.children()
        for child in children:
            child.suspend()
        terminate(server)
        server.process.send_signal(second)
        with sock:
            assert b"shutting down" in read_all(sock)
        ends(server)
        assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_client_that_reads_nothing_ends_with_the_drain(home: Path) -> None:
    """Its connection is cut at the limit, though more is to be told than fits into buffers."""
    with ServerProcess(home, "--drain-timeout", "2s") as server:
        load(server)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        with sock:
            body = b'{"model":"tiny","prompt":"hi","max_tokens":8000,"n":8,"stream":true}'
            sock.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port
                + b"Authorization: Bearer 1234\r\nContent-Type: application/json\r\n"
                + b"Content-Length: %d\r\n\r\n" % len(body) + body
            )  # fmt: skip
            while server.num_rows() == 0:
                time.sleep(0.02)
            server.process.terminate()
            ends(server)


@pytest.mark.parametrize("sent", [b"", b"GET /hea", b"POST /v1/completions HTTP/1.1\r\nHost: x"])
def test_connections_without_a_request_end_at_once(home: Path, sent: bytes) -> None:
    with ServerProcess(home, "--drain-timeout", "-1") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(sent)
            server.process.terminate()
            read_all(sock)
            ends(server)


def test_half_a_body_ends_with_the_drain(home: Path) -> None:
    with ServerProcess(home, "--drain-timeout", "1s") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                % server.port
                + b"Authorization: Bearer 1234\r\nContent-Type: application/json\r\n"
                b'Content-Length: 100\r\n\r\n{"model":'
            )
            server.process.terminate()
            read_all(sock)
            ends(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start(home: Path, number: signal.Signals) -> None:
    """As soon as there is a child: before the port answers, and while a model is preloaded."""
    command = [sys.executable, "-m", "scripts.cli", "--home", str(home), "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--preload", "tiny", "--drain-timeout", "-1"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        while not (children := psutil.Process(process.pid).children()):
            time.sleep(0.001)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in said and "ERROR" not in said, said
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_nobody_who_reads_what_it_prints(home: Path) -> None:
    """Its stdout and stderr are closed at the other end: the status is 0 all the same."""
    command = [sys.executable, "-m", "scripts.cli", "--home", str(home), "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        while b"Bigger:" not in process.stdout.readline():
            pass
        process.stdout.close()
        process.terminate()
        assert process.wait(60) == 0


def test_the_last_resort(tmp_path: Path) -> None:
    """A thread that nobody can end, and a child: both are gone, and the status is 0."""
    program = (
        "import subprocess, sys, threading, time; from web.ending import end_process_within\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "end_process_within(0.1)\n"
        "threading.Thread(target=time.sleep, args=(600,), name='disk').start()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    # The child holds the other end of what is captured: all of it has come when it is gone.
    assert ended.returncode == 0 and "disk" in ended.stderr


def test_the_longest_end_is_told() -> None:
    """For supervisors, in whole."""
    assert longest_end_s(20) == 20 + END_S
