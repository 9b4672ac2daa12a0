"""`python -m scripts.bench`: tokens per second through the server, beside the bare yardstick.

The yardstick is mlx-lm's BatchGenerator on the same model, prompts and token counts, in a process
of its own. With --pin, engine and yardstick compute on core 0 with one BLAS thread while web
process and client share core 1, as on a Mac, where the GPU computes.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import httpx
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
STREAMS = (1, 4, 16)
MAX_TOKENS = {1: 160, 4: 128, 16: 96}
PROMPT_WORDS = 20
KEY = "1234"


def make_model(folder: Path) -> None:
    """A random llama of 20 million parameters, which never ends by itself."""
    from tests.tiny_models import make_llama

    make_llama(
        folder,
        hidden_size=384,
        num_hidden_layers=10,
        intermediate_size=1152,
        num_attention_heads=6,
        num_key_value_heads=2,
        vocab_size=8192,
    )


def yardstick(folder: Path) -> None:
    """Serve rounds on stdin: a line with the number of rows; answers tokens per second."""
    from runtime.engine import device  # noqa: F401, I001 (first: it loads a fast BLAS before MLX)
    from mlx_lm.generate import BatchGenerator
    from mlx_lm.utils import load_model

    model, _ = load_model(folder)
    generator = random.Random(0)
    for line in sys.stdin:
        rows = int(line)
        prompts = [[generator.randrange(3, 400) for _ in range(60)] for _ in range(rows)]
        batch = BatchGenerator(model)
        batch.insert(prompts, [MAX_TOKENS[rows]] * rows)
        started, count = time.perf_counter(), 0
        while responses := batch.next_generated():
            count += len(responses)
        batch.close()
        print(count / (time.perf_counter() - started), flush=True)


async def through_server(url: str, model: str, rows: int) -> float:
    """Aggregate tokens per second of `rows` SSE streams at once."""
    words = "the quick brown fox jumps over lazy dog".split()

    async def stream(client: httpx.AsyncClient, number: int) -> int:
        generator = random.Random(number)
        body = {
            "model": model,
            "messages": [
                {"role": "user", "content": " ".join(generator.choices(words, k=PROMPT_WORDS))}
            ],
            "max_tokens": MAX_TOKENS[rows],
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        usage: dict[str, Any] = {}
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {") and '"usage":{' in line:
                    usage = json.loads(line[6:])["usage"]
        return int(usage["completion_tokens"])

    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(headers=headers, timeout=600) as client:
        started = time.perf_counter()
        counts = await asyncio.gather(*(stream(client, number) for number in range(rows)))
        return sum(counts) / (time.perf_counter() - started)


class Bench:
    """The server and the yardstick side by side; rounds alternate, so that drift hits both."""

    def __init__(self, folder: Path, pin: bool) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        if pin:
            environment |= {"OPENBLAS_NUM_THREADS": "1"}
            _pin(os.getpid(), 1)
        home = folder / "home"
        cli = [sys.executable, "-m", "scripts.cli", "--home", str(home)]
        imports = [*cli, "import", str(folder / "model"), "--id", "bench", "--link"]
        subprocess.run(imports, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        self._yardstick = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench", "--yardstick", str(folder / "model")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        started = time.perf_counter()
        self._server = subprocess.Popen(
            [*cli, "serve", "--port", "0"],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        assert self._server.stdout is not None
        self.url = self._server.stdout.readline().split()[-1]
        urlopen(f"{self.url}/health", timeout=10).close()
        self.start_s = time.perf_counter() - started
        process = psutil.Process(self._server.pid)
        self.start_cpu_s = sum(process.cpu_times()[:2])
        self.web_mb = process.memory_info().rss / 1e6
        load = Request(
            f"{self.url}/v1/models",
            json.dumps({"model": "bench"}).encode(),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        urlopen(load, timeout=60).close()
        if pin:
            _pin(self._yardstick.pid, 0)
            _pin(self._server.pid, 1)
            for child in process.children(recursive=True):
                _pin(child.pid, 0 if "runtime.engine" in child.cmdline() else 1)

    def round(self, rows: int) -> tuple[float, float]:
        """Server and yardstick, tokens per second."""
        assert self._yardstick.stdin is not None and self._yardstick.stdout is not None
        ours = asyncio.run(through_server(self.url, "bench", rows))
        self._yardstick.stdin.write(f"{rows}\n")
        self._yardstick.stdin.flush()
        return ours, float(self._yardstick.stdout.readline())

    def close(self) -> None:
        self._server.terminate()
        self._yardstick.kill()
        self._server.wait()
        self._yardstick.wait()


def _pin(pid: int, core: int) -> None:
    """All threads of a process on one core, where the system knows affinity."""
    if sys.platform == "linux":
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, {core})
        os.sched_setaffinity(pid, {core})


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pin", action="store_true", help="engine on core 0, the rest on core 1")
    parser.add_argument("--yardstick", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.yardstick:
        return yardstick(arguments.yardstick)
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Not in this process: MLX would take threads and memory here.
        make = f"from pathlib import Path; from scripts.bench import make_model; make_model(Path({str(folder / 'model')!r}))"  # noqa: E501
        subprocess.run([sys.executable, "-c", make], check=True, cwd=ROOT)
        bench = Bench(folder, arguments.pin)
        table = Table(
            "streams", "server tok/s", "BatchGenerator tok/s", "ratio (median)", "min-max"
        )
        try:
            with Progress(console=console) as progress:
                task = progress.add_task("Measuring", total=len(STREAMS) * arguments.rounds)
                for rows in STREAMS:
                    bench.round(rows)  # warm
                    pairs = []
                    for _ in range(arguments.rounds):
                        pairs.append(bench.round(rows))
                        progress.advance(task)
                    ratios = sorted(ours / theirs for ours, theirs in pairs)
                    table.add_row(
                        str(rows),
                        f"{_median([ours for ours, _ in pairs]):.0f}",
                        f"{_median([theirs for _, theirs in pairs]):.0f}",
                        f"{_median(ratios):.3f}",
                        f"{ratios[0]:.3f}-{ratios[-1]:.3f}",
                    )
        finally:
            bench.close()
    console.print(table)
    console.print(
        f"serve to /health: {bench.start_s:.2f} s, of which {bench.start_cpu_s:.2f} s of the web "
        f"process's own time; web process {bench.web_mb:.0f} MB. {platform.platform()}, "
        f"{os.cpu_count()} cores."
    )


if __name__ == "__main__":
    main()
