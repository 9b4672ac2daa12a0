"""How any child Python process is started: without secrets and network, and never half made."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from . import sealed

_IMPORT_ROOT = Path(__file__).resolve().parents[2]  # what makes `runtime` and `registry` importable
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # of the hub, in the environment
# What is worked on is on the disk: libraries need not try what a sealed child cannot do.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


async def spawn(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    downloads: bool = False,
    **options: Any,
) -> asyncio.subprocess.Process:
    """Start `python -m module arguments…`, with `environment` beside what it inherits.

    It has no network unless it is what `downloads`. `options` are its pipes and descriptors, as
    `create_subprocess_exec` takes them. A cancelled call ends the process first.
    """
    command = (sys.executable, "-P", "-m", module) if downloads else sealed.command(module)
    inherited = _inherited() if downloads else _inherited() | _OFFLINE
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *(*command, *arguments),
            env={**inherited, **environment},
            # A Ctrl-C in the terminal is the parent's to handle: it drains first.
            start_new_session=True,
            **options,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A child that is half started belongs to nobody yet: it must not outlive this, however
        # often the caller is cancelled meanwhile.
        ending = asyncio.ensure_future(_end(starting))
        while not ending.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(ending)
        raise


async def _end(starting: "asyncio.Future[asyncio.subprocess.Process]") -> None:
    """Kill what is being started; there is nothing to kill where that fails."""
    with contextlib.suppress(OSError):
        await kill(await starting)


def _inherited() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _is_secret(name)}
    return kept | {"PYTHONPATH": str(_IMPORT_ROOT)}


def _is_secret(variable: str) -> bool:
    """A token, or a key: commands take it by MLX_EDGE_API_KEY, and each by a name of its own."""
    is_key = variable.startswith("MLX_EDGE_") and variable.endswith("API_KEY")
    return is_key or variable in TOKENS


async def kill(process: asyncio.subprocess.Process) -> int:
    """SIGKILL, reap, and return the exit status."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    # The end of stdin tells some children that their parent is gone, so it stays open until here.
    if process.stdin is not None:
        process.stdin.close()
    return await asyncio.shield(process.wait())
