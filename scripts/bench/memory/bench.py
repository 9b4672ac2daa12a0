"""What all cases work with: models that are made once, servers, how much work to do."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from scripts.bench.servers import OurServer, environment

CacheKind: TypeAlias = Literal["full", "window", "hybrid", "latent"]
CACHE_KINDS: tuple[CacheKind, ...] = ("full", "window", "hybrid", "latent")
MODEL = "bench"  # its name, as clients say it


@dataclass(frozen=True, slots=True)
class Bench:
    """`share` of the work is done: 1 is what the targets are meant for."""

    work: Path
    pin: bool
    rounds: int
    share: float
    say: Callable[[str], None]

    def scaled(self, number: int, least: int = 1) -> int:
        """So many at a share of 1."""
        return max(least, round(number * self.share))

    def model(self, name: str) -> Path:
        """A random model, by its name in `models`."""
        folder = self.work / "models" / name
        if not folder.is_dir():
            command = [sys.executable, "-m", "scripts.bench.memory.models"]
            subprocess.run([*command, str(folder), name], check=True, env=environment(pin=False))
        return folder

    def child(self, module: str, *arguments: str) -> list[str]:
        """What a process that imports MLX prints, line by line: this one never does."""
        command = [sys.executable, "-m", f"scripts.bench.memory.{module}", *arguments]
        done = subprocess.run(
            command, check=True, env=environment(self.pin), stdout=subprocess.PIPE, text=True
        )
        return done.stdout.splitlines()

    @contextmanager
    def server(self, folder: Path, name: str, *flags: str) -> Iterator[OurServer]:
        """Ours, with the model in memory. `name` is of its home: one that is there goes on."""
        home = self.work / name / "home"
        home.parent.mkdir(exist_ok=True)
        server = OurServer(home, {MODEL: folder}, self.pin, flags)
        try:
            server.load(MODEL)
            yield server
        finally:
            server.close()
