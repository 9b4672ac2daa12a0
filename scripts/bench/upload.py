"""Uploads beside a bare Quart body read: speed, memory, and how others fare meanwhile.

Run by hand: `python -m scripts.bench.upload --mb 2048`. Both servers stand on Hypercorn; the bare
one counts the bytes of a body and keeps none. What is sent is no model, so ours refuses it in the
end; until then it has written and synced all of it.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from scripts.bench.servers import KEY, OurServer, environment

_BOUNDARY = "mlx-edge-bench-boundary"
_PIECE = os.urandom(1 << 20)
_BARE = """
import asyncio
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, request
app = Quart("bare")
app.config.update(MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None)
@app.post("/")
async def read():
    count = 0
    async for piece in request.body:
        count += len(piece)
    return str(count)
config = Config()
config.bind = ["127.0.0.1:{port}"]
asyncio.run(serve(app, config))
"""


def send(port: int, path: str, megabytes: int) -> float:
    """Seconds from the first byte of a form to the reply."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="big.gguf"'
        "\r\n\r\nGGUF"
    ).encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    started = time.perf_counter()
    connection.putrequest("POST", path)
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
    connection.putheader("Content-Length", str(len(head) + (megabytes << 20) + len(tail)))
    connection.endheaders(head)
    for _ in range(megabytes):
        connection.send(_PIECE)
    connection.send(tail)
    connection.getresponse().read()
    connection.close()
    return time.perf_counter() - started


def _create(url: str, model_id: str) -> None:
    body = json.dumps({"id": model_id, "version": "1.0.0", "kind": "llm"}).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    urlopen(Request(f"{url}/mimik-ai/store/v1/models", body, headers)).close()


@contextmanager
def bare_server() -> Iterator[int]:
    """The port of a Quart that reads and forgets."""
    port = 18_950
    process = subprocess.Popen(
        [sys.executable, "-c", _BARE.replace("{port}", str(port))], env=environment(pin=False)
    )
    try:
        time.sleep(2)
        yield port
    finally:
        process.kill()
        process.wait()


class Watcher(threading.Thread):
    """Asks for /health and looks at the memory, until it is stopped."""

    def __init__(self, url: str, pid: int) -> None:
        super().__init__(daemon=True)
        self._url, self._web = url, psutil.Process(pid)
        self._is_over = threading.Event()
        self._before = self._web.memory_info().rss
        self.latencies_s: list[float] = []
        self.growth_bytes = 0

    def run(self) -> None:
        while not self._is_over.wait(0.02):
            started = time.perf_counter()
            urlopen(f"{self._url}/health").close()
            self.latencies_s.append(time.perf_counter() - started)
            growth = self._web.memory_info().rss - self._before
            self.growth_bytes = max(self.growth_bytes, growth)

    def stop(self) -> None:
        self._is_over.set()
        self.join()


def main() -> None:
    """Alternate between the two, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, bare_server() as bare:
        server = OurServer(Path(folder) / "home", {}, pin=False)
        try:
            port = int(server.url.rsplit(":", 1)[1])
            _create(server.url, "big")
            watcher = Watcher(server.url, server.process.pid)
            for round_number in range(options.rounds):
                seconds["bare"].append(send(bare, "/", options.mb))
                if round_number == 0:
                    watcher.start()
                path = "/mimik-ai/store/v1/models/big/upload"
                seconds["ours"].append(send(port, path, options.mb))
            watcher.stop()
        finally:
            server.close()
    for name, values in seconds.items():
        print(f"{name}: {options.mb / statistics.median(values):.0f} MiB/s")
    ratio = statistics.median(b / o for b, o in zip(*seconds.values(), strict=True))
    p99 = sorted(watcher.latencies_s)[int(len(watcher.latencies_s) * 0.99)]
    print(f"ratio {ratio:.2f}; memory +{watcher.growth_bytes >> 20} MiB; /health p99 {p99:.3f} s")


if __name__ == "__main__":
    main()
