"""`mlx-edge bench --embed FOLDER`: an embedding model over HTTP, beside its bare forward pass.

Each cell is so many inputs per request, and requests at once. Beside it stand the bare pass on the
same packs (how much the server costs) and on one input at a time (what packing brings). Then a chat
in another engine process streams alone, and while embeddings are made.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.model import Model
from scripts.bench.cell import prompts
from scripts.bench.client import Endpoint, connect, stream
from scripts.bench.connection import Connection, connection
from scripts.bench.measure import machine
from scripts.bench.servers import ENGINE_CORE, OUR_CORE, OurServer, environment, pin_to

SHORT, LONG = (8, 24), (512, 512)  # tokens of a text, from and to
_CHAT_TOKENS = 160
_CELL_TOKENS = 16_384  # of work in a round, about


@dataclass(frozen=True, slots=True)
class EmbedCell:
    """`num_requests` at once, each with `batch` texts of so many tokens."""

    batch: int
    tokens: tuple[int, int]
    num_requests: int = 1


_BATCHES = ((1, 1), (8, 1), (64, 1), (1, 16))  # texts in a request, and requests at once


@dataclass(frozen=True, slots=True)
class EmbedRow:
    """A cell, measured, in inputs per second: medians, also of the rounds' ratios."""

    cell: EmbedCell
    ours: float
    bare: float
    one_at_a_time: float
    ratio: float


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """All that was measured, and where."""

    machine: str
    versions: dict[str, str]
    pinned: bool
    rows: list[EmbedRow]
    chat_alone_tokens_per_s: float
    chat_beside_tokens_per_s: float


def num_steps(rounds: int) -> int:
    """How often `on_step` is called."""
    return 2 * len(_BATCHES) * rounds + 1


def measure(folder: Path, rounds: int, pin: bool, on_step: Callable[[str], None]) -> EmbedReport:
    """Run everything; `on_step` is told what was done, for a progress bar."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        work = Path(name)
        chat = work / "chat"
        command = [sys.executable, "-m", "scripts.bench.random_model", str(chat), "8192"]
        subprocess.run(command, check=True, env=environment(pin=False))
        server = OurServer(work / "home", {"embed": folder, "chat": chat}, pin)
        stack.callback(server.close)
        texts = Texts(folder)
        yardstick = Yardstick(folder, pin)
        stack.callback(yardstick.close)
        embedder, chatter = server.endpoint("embed"), server.endpoint("chat")
        asyncio.run(_chat_rate(chatter, chat, seed=0))  # both engines are up after this
        asyncio.run(_ours(embedder, [["warm"]], 1))
        if pin:
            _pin_engines(server)
        rows = [
            _measure_cell(
                EmbedCell(batch, tokens, num_requests), texts, embedder, yardstick, rounds, on_step
            )
            for tokens in (SHORT, texts.bounded(LONG))
            for batch, num_requests in _BATCHES
        ]
        alone, beside = asyncio.run(_beside(embedder, chatter, chat, texts))
        on_step("chat")
    versions = {name: version(name) for name in ("mlx", "mlx-lm")}
    return EmbedReport(machine(), versions, pin, rows, alone, beside)


def _pin_engines(server: OurServer) -> None:
    """The chat computes on one core; the embedding model shares the other with the web process."""
    for child in psutil.Process(server.process.pid).children(recursive=True):
        is_chat = any(part.endswith("/chat") for part in child.cmdline())
        pin_to(child.pid, {ENGINE_CORE if is_chat else OUR_CORE})


class Texts:
    """Random texts of a given number of tokens."""

    def __init__(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._num_special = len(tokenizer.encode("").ids)
        words = sorted(t for t in tokenizer.get_vocab() if t.isascii() and t.isalpha())[:4000]
        encodings = tokenizer.encode_batch([f"{word} {word}" for word in words])
        whole = self._num_special + 2
        found = [w for w, e in zip(words, encodings, strict=True) if len(e.ids) == whole]
        self._words = found or ["a"]
        self._limit = EncoderConfig.of(Model("bench", folder)).max_input_tokens

    def bounded(self, tokens: tuple[int, int]) -> tuple[int, int]:
        """The range, cut to what the model can read."""
        return min(tokens[0], self._limit), min(tokens[1], self._limit)

    def draw(self, cell: EmbedCell, seed: str) -> list[list[str]]:
        """The requests of one round."""
        draw = random.Random(seed)
        low, high = self.bounded(cell.tokens)
        at_once = cell.batch * cell.num_requests
        num_waves = max(1, _CELL_TOKENS // (at_once * (low + high) // 2))
        return [
            [self._text(draw, draw.randint(low, high)) for _ in range(cell.batch)]
            for _ in range(min(num_waves, 256) * cell.num_requests)
        ]

    def _text(self, draw: random.Random, num_tokens: int) -> str:
        return " ".join(draw.choices(self._words, k=max(1, num_tokens - self._num_special)))


class Yardstick:
    """The bare forward pass in a process of its own."""

    def __init__(self, folder: Path, pin: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.embed_yardstick", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(pin),
        )  # fmt: skip
        if pin:
            pin_to(self._process.pid, {OUR_CORE})

    def inputs_per_s(self, requests: Sequence[Sequence[str]], *, is_packed: bool) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"requests": requests, "is_packed": is_packed}) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _measure_cell(
    cell: EmbedCell,
    texts: Texts,
    endpoint: Endpoint,
    yardstick: Yardstick,
    rounds: int,
    on_step: Callable[[str], None],
) -> EmbedRow:
    """Server and yardsticks take turns within a round, so a drift of the machine hits them all."""
    ours, bare, single = [], [], []
    for number in range(rounds):
        requests = texts.draw(cell, f"{cell} {number}")
        width = cell.num_requests  # what comes at once may share a pass, in both
        waves = [
            [text for request in requests[i : i + width] for text in request]
            for i in range(0, len(requests), width)
        ]
        asyncio.run(_ours(endpoint, requests[: 2 * width], width))  # warm
        ours.append(asyncio.run(_ours(endpoint, requests, width)))
        bare.append(yardstick.inputs_per_s(waves, is_packed=True))
        single.append(yardstick.inputs_per_s(waves, is_packed=False))
        on_step(f"{cell.num_requests} x {cell.batch} of {cell.tokens[1]} tokens")
    ratio = _middle([a / b for a, b in zip(ours, bare, strict=True)])
    return EmbedRow(cell, _middle(ours), _middle(bare), _middle(single), ratio)


async def _ours(endpoint: Endpoint, requests: Sequence[Sequence[str]], width: int) -> float:
    """Inputs per second, `width` requests at once, in base64 as the SDKs ask for it."""
    waiting = iter(requests)

    async def work(server: Connection) -> None:
        for texts in waiting:
            await _embed(server, endpoint.model, texts)

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(connection(endpoint)) for _ in range(width)]
        started = time.perf_counter()
        await asyncio.gather(*map(work, servers))
        return sum(map(len, requests)) / (time.perf_counter() - started)


async def _embed(server: Connection, model: str, texts: Sequence[str]) -> None:
    body = {"model": model, "input": texts, "encoding_format": "base64"}
    await server.post("/embeddings", body)


async def _beside(
    embedder: Endpoint, chatter: Endpoint, chat: Path, texts: Texts
) -> tuple[float, float]:
    """A chat's tokens per second alone, and while batches of 8 long texts are embedded."""
    alone = await _chat_rate(chatter, chat, seed=1)
    requests = texts.draw(EmbedCell(8, LONG), "beside")
    async with connection(embedder) as server:

        async def work() -> None:
            while True:
                for batch in requests:
                    await _embed(server, embedder.model, batch)

        company = asyncio.create_task(work())
        try:
            return alone, await _chat_rate(chatter, chat, seed=2)
        finally:
            company.cancel()
            await asyncio.gather(company, return_exceptions=True)


async def _chat_rate(endpoint: Endpoint, folder: Path, seed: int) -> float:
    (prompt,) = prompts(folder, 1, 20, seed)
    async with connect(endpoint) as client:
        timeline = await stream(client, endpoint, prompt, max_tokens=_CHAT_TOKENS)
    return (timeline.num_tokens - 1) / (timeline.arrivals[-1] - timeline.arrivals[0])


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def show(report: EmbedReport, console: Console) -> None:
    """The table, and the chat in a line."""
    table = Table(title="inputs per second")
    for name in ("tokens", "at once", "batch", "of bare", "ours", "bare", "one at a time"):
        table.add_column(name, justify="right")
    for row in report.rows:
        cell = row.cell
        low, high = cell.tokens
        table.add_row(
            str(high) if low == high else f"{low}-{high}", str(cell.num_requests), str(cell.batch),
            f"[bold]{row.ratio:.3f}[/]", f"{row.ours:.1f}", f"{row.bare:.1f}",
            f"{row.one_at_a_time:.1f}",
        )  # fmt: skip
    console.print(table)
    alone, beside = report.chat_alone_tokens_per_s, report.chat_beside_tokens_per_s
    console.print(
        f"A chat beside it: {beside:.0f} tokens per second, {beside / alone:.2f} of the "
        f"{alone:.0f} that it has alone.\n"
        f"On {report.machine}{'; pinned' if report.pinned else ''}.",
        highlight=False,
    )


def write_json(report: EmbedReport, path: Path) -> None:
    """Everything, in SI units."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
