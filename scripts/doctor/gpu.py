"""What models are computed on: by a trial in a child, for MLX itself is never imported here."""

import asyncio
import signal
from collections.abc import Iterator

import msgspec

from runtime.memory import darwin, machine
from runtime.processes import trial
from runtime.processes.sealed import NOT_SEALED, WAY_OUT, NotSealed
from scripts.size import in_words

from .finding import Finding
from .system import AGAIN

_MODULE = "scripts.doctor.mlx_attempt"
_LIMIT_S = 30.0  # the first import after a restart reads hundreds of megabytes
_PANIC_SHARE = 0.9  # of all memory: what is wired cannot be moved, and the kernel needs some


class Device(msgspec.Struct, frozen=True):
    """On which MLX has computed something, as it says itself."""

    on_gpu: bool
    has_metal: bool
    working_set: int | None  # the most bytes that the GPU should use; None where there is none


class NothingComputed(Exception):
    """The child did not do as it should; its last words."""


async def attempt(module: str = _MODULE, limit_s: float = _LIMIT_S) -> Device:
    """Have a child compute, sealed as an engine is. Raises NothingComputed, or NotSealed."""
    try:
        ended = await trial.run(module, limit_s=limit_s)
        if ended.status == NOT_SEALED:
            raise NotSealed(ended.last_words)
        return msgspec.json.decode(ended.said, type=Device)
    except TimeoutError:
        raise NothingComputed(f"it said nothing in {limit_s:g} s") from None
    except OSError as error:
        raise NothingComputed(f"it could not be started: {error}") from None
    except msgspec.MsgspecError:
        raise NothingComputed(ended.last_words or _end(ended.status)) from None


def _end(status: int) -> str:
    """As asyncio has it: a negative status is the number of a signal."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with status {status}"


def findings() -> Iterator[Finding]:
    """Metal and how much it may use; where there is none, what computes instead."""
    try:
        yield metal(asyncio.run(attempt()))
    except NotSealed as error:
        told = f"engines cannot be kept from the network here, so `serve` does not start: {error}"
        yield Finding("sealed", "problem", told, WAY_OUT)
    except NothingComputed as error:
        yield Finding(
            "Metal",
            "problem",
            f"no model can be computed: a process that tried a sum with MLX failed: {error}",
            AGAIN,
        )
    if darwin.is_here() and (raised := machine.wired_limit_bytes()) is not None:
        yield wired_limit(raised, machine.physical_bytes())


def metal(device: Device) -> Finding:
    """By what MLX says of it."""
    if device.has_metal and device.working_set is not None:
        most = in_words(device.working_set)
        return Finding("Metal", "ok", f"MLX computes on it, and may use {most} of memory")
    if darwin.is_here():
        return Finding(
            "Metal",
            "problem",
            "MLX finds none, though this is a Mac: models would run on the CPU",
            "Run mlx-edge on the Mac itself: a virtual machine or a container has no Metal.",
        )
    if device.on_gpu:
        return Finding("Metal", "ok", "none here: MLX computes on CUDA")
    return Finding(
        "Metal",
        "note",
        "none here: MLX computes on the CPU, in float32, much slower than on a Mac's GPU",
        "With a GPU of NVIDIA's, install mlx-edge[cuda]; without one this is as it is.",
    )


def wired_limit(limit: int, physical: int) -> Finding:
    """A limit that somebody set beside Metal's own, until the next restart of the Mac."""
    usual = machine.recommended_bytes(physical)
    is_risky = limit > physical * _PANIC_SHARE
    told = f"iogpu.wired_limit_mb is set to {limit >> 20}: a GPU may use {in_words(limit)} of "
    told += f"{in_words(physical)}, where {in_words(usual)} are usual"
    if is_risky:
        told += "; so little is left to the system that it may panic"
    remedy = "To go back: `sudo sysctl iogpu.wired_limit_mb=0`. A restart does that, too."
    return Finding("wired limit", "warning" if is_risky else "note", told, remedy)
