"""The job process: `python -m registry.convert MEMORY_BYTES`, started by `jobs.conversion`.

Reads one Work from the first line of stdin, writes Lines to stdout, and ends when stdin does: then
its parent is gone. Whatever crashes or eats memory in here is a failed job, not a failed server.
"""

import contextlib
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from registry.checkpoint.config import MISREAD, in_words
from registry.checkpoint.verify import verify
from registry.checkpoint.weights import is_gguf, read_header
from registry.convert_messages import Done, Line, Progress, Refused, Work
from registry.errors import BrokenWeights, ConversionFailed, NotAModel
from runtime.processes.lean import leave_out_transformers
from runtime.processes.orphan import end_with_parent

_REPORT_EVERY_S = 0.1
_NICENESS = 5  # whoever chats comes first
_BITS = (2, 3, 4, 5, 6, 8)  # what MLX packs
_GROUP_SIZES = (32, 64, 128)
_PROJECTOR = "mmproj"
_DTYPES = ("float16", "bfloat16", "float32")


def main() -> None:
    end_with_parent()
    _limit(int(sys.argv[1]))
    lines = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that print must not disturb the lines
    work = msgspec.json.decode(sys.stdin.buffer.readline(), type=Work)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    _write(lines, _run(work, _Reporter(lines)))


def _limit(memory_bytes: int) -> None:
    """Bound what this process may take, and let it be the first to go when memory runs out."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)
    if sys.platform == "linux":  # macOS accepts the limit and does not keep it
        # Not RLIMIT_AS: a weight file that is mapped counts there, and takes nothing.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")


def _end_with_stdin() -> None:
    """Which tells of the parent's end wherever the kernel does not."""
    # Not through sys.stdin: its lock, held here, would abort the interpreter at its end.
    while os.read(0, 4096):
        pass
    os._exit(1)


class _Reporter:
    """Writes progress, but not more of it than anybody would read."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines
        self._stage = ""
        self._written_at = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        is_news = stage != self._stage or done >= total
        if is_news or now - self._written_at > _REPORT_EVERY_S:
            self._stage, self._written_at = stage, now
            _write(self._lines, Progress(stage, done, total))


def _write(lines: BinaryIO, line: Line) -> None:
    lines.write(msgspec.json.encode(line) + b"\n")


def _run(work: Work, report: Callable[[str, int, int], None]) -> Done | Refused:
    try:
        report("checking", 0, 1)
        source = check(work)
        report("checking", 1, 1)
        # Only now: a broken file is refused before any native reader is even loaded.
        leave_out_transformers()
        from .conversion import carry_out

        return Done(carry_out(source, work, report))
    except (NotAModel, BrokenWeights, ConversionFailed) as error:
        return Refused(type(error).__name__, str(error))
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20
        return Refused("ConversionFailed", f"It needs more than the {limit} MiB it may take.")
    except MISREAD as error:  # over files that strangers wrote, which nothing else has told
        traceback.print_exc()
        return Refused("NotAModel", f"The model cannot be used: {in_words(error)}.")
    except (OSError, RuntimeError) as error:  # a full disk, above all; MLX tells it by the latter
        return Refused("ConversionFailed", f"It could not be done: {error}")


def check(work: Work) -> Path:
    """Walk the headers of the source in pure Python. Returns the folder or the .gguf file.

    Raises NotAModel, BrokenWeights, and ConversionFailed when what is asked for is impossible.
    """
    for value, choices in (
        (work.bits, (None, *_BITS)),
        (work.group_size, _GROUP_SIZES),
        (work.dtype, (None, *_DTYPES)),
    ):
        if value not in choices:
            raise ConversionFailed(f"{value!r} is impossible; it must be one of {choices}.")
    source = Path(work.source)
    if source.is_dir() and not (source / "config.json").exists():
        source = _only_weights(source)
    if source.is_dir():
        verify(source)
    elif not source.exists():
        raise NotAModel(f"{source} does not exist.")
    elif is_gguf(source):
        read_header(source)
    else:
        raise NotAModel(
            f"{source.name} alone is no model: config.json and a tokenizer must be in its folder. "
            "A .gguf has everything in one file."
        )
    return source


def _only_weights(folder: Path) -> Path:
    """The one weight file of a folder that has no config.json, or the folder itself."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in (".gguf", ".safetensors")]
    # What turns images into vectors lies beside the GGUF of a model that sees; it is no model.
    models = [path for path in files if _PROJECTOR not in path.name.lower()]
    return models[0] if len(models) == 1 else folder


if __name__ == "__main__":
    main()
