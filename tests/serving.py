"""The real server as a subprocess, for tests that talk to it from outside."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil

from registry.checkpoint.verify import Verified
from registry.store.record import Source
from registry.store.store import Store
from tests import processes

ROOT = Path(__file__).resolve().parent.parent
KEY = "1234"


def link_model(home: Path, model_id: str, folder: Path, context_length: int = 8192) -> None:
    """Register a folder where it is, unseen: verifying one that is known to be sound takes long."""
    size = (folder / "model.safetensors").stat().st_size
    verified = Verified("llm", "llama", context_length, size // 4, size, None, time.time())
    source = Source("folder", str(folder))
    Store(home).publish_link(model_id, folder, source=source, verified=verified)


def import_model(home: Path, model_id: str, folder: Path, *flags: str) -> None:
    """Import a folder as a person does: copied, verified, published."""
    cli = [sys.executable, "-m", "scripts.cli", "--home", str(home)]
    command = [*cli, "import", str(folder), "--id", model_id, *flags]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


class ServerProcess:
    """`mlx-edge serve` on a free port; use as a context manager, it always ends."""

    def __init__(
        self,
        home: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
        max_files: int | None = None,
        module: str = "scripts.cli",
    ) -> None:
        self.home = home
        self._log = home.parent / f"{home.name}.log"
        self._file = self._log.open("w+")
        command = [sys.executable, "-m", module, "--home", str(home), "serve", "--port", "0"]
        if max_files is not None:
            command = ["bash", "-c", f'ulimit -n {max_files}; exec "$@"', "-", *command]
        self.process = subprocess.Popen(
            [*command, *flags],
            cwd=ROOT,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
        )
        self.url = self._wait_for_url()
        processes.servers.add(self.process.pid)

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        children = self.children()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.kill()
        self.process.wait()
        processes.servers.discard(self.process.pid)
        self._file.close()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def log(self) -> str:
        return self._log.read_text()

    def children(self) -> list[psutil.Process]:
        """Engines and text workers."""
        return processes.children(pid=self.process.pid)

    def engines(self) -> list[psutil.Process]:
        return processes.children("runtime.engine", self.process.pid)

    def web_memory(self) -> int:
        """Resident bytes of the web process."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def get(self, path: str) -> Any:
        """The JSON of a GET with the key."""
        request = Request(self.url + path, headers={"Authorization": f"Bearer {KEY}"})
        with urlopen(request, timeout=30) as response:
            return json.load(response)

    def num_rows(self) -> int:
        """Rows that all engines hold."""
        return sum(model.get("num_rows", 0) for model in self.get("/v1/models")["data"])

    def wait_until_empty(self, timeout_s: float = 10) -> None:
        """Until no engine holds a row and no request is counted."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            models = self.get("/v1/models")["data"]
            keys = ("num_rows", "num_running", "num_waiting")
            if not any(model.get(key, 0) for model in models for key in keys):
                return
            time.sleep(0.05)
        raise AssertionError(f"requests were left behind: {models}")

    def send_raw(self, data: bytes, timeout_s: float = 10) -> bytes:
        """Bytes on a fresh connection, and everything that comes back until it closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as sock:
            sock.sendall(data)
            return read_all(sock)

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            log = self.log
            if "\nBigger:  " in log:  # the banner's last line: all of it is there
                (url,) = re.findall("^Listening on (.*)$", log, re.MULTILINE)
                return str(url)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.process.kill()
        self.process.wait()
        raise AssertionError(f"the server did not start:\n{self.log}")


def read_all(sock: socket.socket) -> bytes:
    received = b""
    with suppress(TimeoutError, ConnectionError):
        while piece := sock.recv(65536):
            received += piece
    return received


def chat_request(body: dict[str, Any] | bytes, base: str = "/v1", **headers: str) -> bytes:
    """A raw POST /chat/completions, without Host."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {base}/chat/completions HTTP/1.1"]
    fields = {
        "Host": "127.0.0.1",
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "Content-Length": str(len(payload)),
        "Connection": "close",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload
