"""The processes that are measured: our server, the yardstick, and mlx_lm.server as a peer."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

from scripts.bench.client import Endpoint

ROOT = Path(__file__).resolve().parents[2]  # what makes `scripts` importable
KEY = "bench"
OUR_CORE, ENGINE_CORE = 1, 0


def environment(pin: bool) -> dict[str, str]:
    """The environment of all children; pinned ones compute with one thread."""
    extra = {"OPENBLAS_NUM_THREADS": "1"} if pin else {}
    return os.environ | {"PYTHONPATH": str(ROOT)} | extra


def pin_to(pid: int, cores: set[int]) -> None:
    """All threads of a process on these cores, where the system knows affinity."""
    if sys.platform == "linux":
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, cores)
        os.sched_setaffinity(pid, cores)


def cpu_seconds(process: psutil.Process) -> float:
    """What the process has computed so far; on Linux finer than the clock's ticks of 10 ms."""
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.is_dir():
        return float(sum(process.cpu_times()[:2]))
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


class OurServer:
    """`mlx-edge serve`, with a home into which these models are linked unless they are there."""

    def __init__(
        self, home: Path, models: dict[str, Path], pin: bool, flags: Sequence[str] = ()
    ) -> None:
        """`flags` are more of `mlx-edge serve`."""
        self._pin = pin
        self._models = models
        self.home = home
        cli = [sys.executable, "-m", "scripts.cli", "--home", str(home)]
        new = {name: each for name, each in models.items() if not (home / "models" / name).exists()}
        for name, folder in new.items():
            self._run([*cli, "import", str(folder), "--id", name, "--link"])
        self._log = (home.parent / "server.log").open("w")
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [*cli, "serve", "--port", "0", "--api-key", KEY, "--max-rows", "16", *flags],
            stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT, env=environment(pin),
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        urlopen(f"{self.url}/health", timeout=10).close()
        self.start_s = time.perf_counter() - started
        web = psutil.Process(self.process.pid)
        self.start_cpu_s = sum(web.cpu_times()[:2])
        self.web_bytes = web.memory_info().rss
        if pin:
            pin_to(self.process.pid, {OUR_CORE})

    def _run(self, command: list[str]) -> None:
        subprocess.run(
            command, check=True, cwd=ROOT, env=environment(self._pin), stdout=subprocess.DEVNULL
        )

    def load(self, name: str) -> float:
        """Load a model and unload the others. Returns the seconds that the load took."""
        for other in self._models:
            if other != name and any(model["id"] == other for model in self._loaded()):
                self._ask("DELETE", f"/models/{other}")
        started = time.perf_counter()
        self._ask("POST", "/models", {"model": name})
        seconds = time.perf_counter() - started
        if self._pin:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                is_engine = "runtime.engine" in child.cmdline()
                pin_to(child.pid, {ENGINE_CORE if is_engine else OUR_CORE})
        return seconds

    def _loaded(self) -> list[dict[str, str]]:
        loaded: list[dict[str, str]] = self._ask("GET", "/models")["data"]
        return loaded

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, list[dict[str, str]]]:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        # The mimOE dialect lists what is in memory.
        url = f"{self.url}/mimik-ai/openai/v1{path}"
        with urlopen(Request(url, data, headers, method=method), timeout=120) as response:
            answer: dict[str, list[dict[str, str]]] = json.load(response)
        return answer

    def memory(self) -> dict[str, int]:
        """Resident bytes of each process, by its part."""
        web = psutil.Process(self.process.pid)
        parts = {"web": web.memory_info().rss}
        for child in web.children(recursive=True):
            part = "engine" if "runtime.engine" in child.cmdline() else "text worker"
            parts[part] = max(parts.get(part, 0), child.memory_info().rss)
        return parts

    def endpoint(self, model: str) -> Endpoint:
        return Endpoint(f"{self.url}/v1", model, KEY)

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()
        self._log.close()


class Yardstick:
    """The bare BatchGenerator in a process of its own."""

    def __init__(self, folder: Path, pin: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.yardstick", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(pin),
        )  # fmt: skip
        if pin:
            pin_to(self._process.pid, {ENGINE_CORE})

    def tokens_per_s(self, prompts: list[str], **parameters: float | int) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"prompts": prompts} | parameters) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def mlx_lm_server(folder: Path, pin: bool) -> Iterator[Endpoint]:
    """mlx_lm.server on the same model, with the same BLAS; pinned, it may use both cores."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Our own package loads the fast BLAS before MLX; then the peer runs as ever.
    start = "from runtime.engine import device; from mlx_lm.server import main; main()"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-c", start, "--model", str(folder), "--port", str(port)],
            stdout=log, stderr=log, env=environment(pin),
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1/models", process)
            if pin:
                pin_to(process.pid, {OUR_CORE, ENGINE_CORE})
            yield Endpoint(f"http://127.0.0.1:{port}/v1", str(folder))
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        try:
            urlopen(url, timeout=5).close()
            return
        except (URLError, ConnectionError):
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"the peer did not answer at {url}")
