"""Job processes that go wrong, started by jobs/test_conversion in place of registry.convert.

What one does is the `source` of its Work.
"""

import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from registry.convert import __main__ as convert
from registry.convert_messages import Work
from registry.errors import BrokenWeights


def crash(work: Work) -> Path:
    os.kill(os.getpid(), signal.Signals[work.source.removeprefix("crash ")])
    raise AssertionError("unreachable")


def take_memory(work: Work) -> Path:
    pieces = []
    while True:
        pieces.append(bytearray(16 << 20))


def take_shared_memory(work: Work) -> Path:
    """Which the limit of a process does not count."""
    mapped = mmap.mmap(-1, 1 << 30)
    for at in range(0, 1 << 30, 4096):
        mapped[at] = 1
        if at % (64 << 20) == 0:
            time.sleep(0.02)
    time.sleep(600)
    raise AssertionError("nobody ended it")


def fail(work: Work) -> Path:
    raise LookupError("nobody\x1b[2J expected this")


def hang(work: Work) -> Path:
    Path(work.target or "").write_text(str(os.getpid()))
    time.sleep(600)
    raise AssertionError("nobody ended it")


def flood(work: Work) -> Path:
    """Print to both, far more than a pipe holds."""
    for _ in range(3000):
        print("x" * 100)
        print("y" * 100, file=sys.stderr)
    raise BrokenWeights("x", "it could be told all the same")


def speak_nonsense(work: Work) -> Path:
    raise AssertionError("unreachable")


def describe(work: Work) -> Path:
    """Refuse, telling what this process was given."""
    told = {
        "environment": dict(os.environ),
        "session": os.getsid(0) == os.getpid(),
        "modules": sorted(name for name in sys.modules if "." not in name),
    }
    raise BrokenWeights("x", msgspec.json.encode(told).decode())


def no_native_readers(work: Work) -> Path:
    """Check a real file where none of the native readers can be imported."""
    modules: dict[str, Any] = sys.modules
    modules |= dict.fromkeys(("mlx", "mlx_lm", "numpy", "safetensors", "gguf", "tokenizers"))
    return _check(msgspec.structs.replace(work, source=work.target, target=None))


ROLES: dict[str, Callable[[Work], Path]] = {
    "take memory": take_memory,
    "take shared memory": take_shared_memory,
    "fail": fail,
    "hang": hang,
    "flood": flood,
    "describe": describe,
    "no native readers": no_native_readers,
}
_check = convert.check


def play(work: Work) -> Path:
    return crash(work) if work.source.startswith("crash ") else ROLES[work.source](work)


if __name__ == "__main__":
    if sys.argv[1] == str(1 << 50):  # of memory: a process that is not the one that was meant
        print("hello, world", flush=True)
        sys.exit()
    convert.check = play
    convert.main()
