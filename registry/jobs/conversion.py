"""The web process's side of a job process: start `registry.convert`, follow it, end it."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from registry.checkpoint.verify import Verified
from registry.convert_messages import Done, Line, Progress, Refused, Work
from registry.errors import BrokenWeights, ConversionFailed, NotAModel, RegistryError
from runtime.processes.spawn import kill, spawn

_MODULE = "registry.convert"
_MAX_LINE_BYTES = 1 << 20
_LAST_WORDS_BYTES = 2000
_WATCH_S = 0.25  # between two looks at its memory
_MEMORY_SHARE = 0.75  # of the machine's memory that a job may take

_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


async def run_work(
    work: Work, report: Callable[[str, int, int], None], memory_bytes: int | None = None
) -> Verified:
    """Do the work in a process of its own, telling `report(stage, done, total)` on the way.

    Raises NotAModel, BrokenWeights, ConversionFailed. A cancelled call ends the process first; what
    it left of `work.target` is the caller's to remove, as after an error.
    """
    if memory_bytes is None:
        memory_bytes = int(psutil.virtual_memory().total * _MEMORY_SHARE)
    order = msgspec.json.encode(work) + b"\n"
    process = await _start(memory_bytes)
    words = asyncio.create_task(_last_words(process))
    guard = asyncio.create_task(_end_when_over(process, memory_bytes))
    try:
        assert process.stdin is not None
        process.stdin.write(order)
        line = await _follow(process, report)
        status, last_words = await process.wait(), await words
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConversionFailed(f"The process that converts speaks nonsense: {error}") from None
    finally:
        words.cancel()
        guard.cancel()
        await kill(process)
    match line:
        case Done(verified):
            return verified
        case Refused(kind, message):
            raise _refusal(kind, message)
    if guard.done() and not guard.cancelled() and guard.result():
        raise ConversionFailed(
            f"The process that converts and verifies {Path(work.source).name} took more than the "
            f"{memory_bytes >> 20} MiB it may take, and was ended."
        )
    raise ConversionFailed(_describe(work, status, last_words))


async def _start(memory_bytes: int) -> asyncio.subprocess.Process:
    return await spawn(
        *(_MODULE, str(memory_bytes)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_MAX_LINE_BYTES,
    )


async def _end_when_over(process: asyncio.subprocess.Process, memory_bytes: int) -> bool:
    """Kill a process that holds too much: macOS takes its own limit for a suggestion."""
    with contextlib.suppress(psutil.NoSuchProcess):
        watched = psutil.Process(process.pid)
        while watched.memory_info().rss <= memory_bytes:
            await asyncio.sleep(_WATCH_S)
        watched.kill()
        return True
    return False


async def _follow(
    process: asyncio.subprocess.Process, report: Callable[[str, int, int], None]
) -> Line | None:
    """Hand progress on until the end of stdout, and return the last line."""
    assert process.stdout is not None
    line: Line | None = None
    while raw := await process.stdout.readline():
        line = _decoder.decode(raw)
        if isinstance(line, Progress):
            report(line.stage, line.done, line.total)
    return line


async def _last_words(process: asyncio.subprocess.Process) -> str:
    """The end of what the process wrote to stderr."""
    assert process.stderr is not None
    kept = b""
    while piece := await process.stderr.read(_LAST_WORDS_BYTES):
        kept = (kept + piece)[-_LAST_WORDS_BYTES:]
    lines = kept.decode(errors="replace").strip().splitlines()
    return "".join(char if char.isprintable() else " " for char in lines[-1]) if lines else ""


def _refusal(error: str, message: str) -> RegistryError:
    if error == "BrokenWeights":
        refused = BrokenWeights("", "")
        refused.args = (message,)  # a whole sentence already
        return refused
    return NotAModel(message) if error == "NotAModel" else ConversionFailed(message)


def _describe(work: Work, status: int, last_words: str) -> str:
    """Why a process that said nothing at its end has ended."""
    name = Path(work.source).name
    if status < 0:
        reason = f"was ended by {_signal_name(-status)}"
        if -status == signal.SIGKILL:
            reason += ", for want of memory most likely"
    else:
        reason = f"ended with exit status {status}" + (f": {last_words}" if last_words else "")
    return f"The process that converts and verifies {name} {reason}."


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
