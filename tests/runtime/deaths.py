"""Where engines shall die: written down for `tests.runtime.engine_that_dies`, which does it.

A plan lies in the folder of its model, and goes from each engine to the next.
"""

import signal
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from runtime import slot
from runtime.processes import child
from runtime.processes.spawn import spawn

if TYPE_CHECKING:  # an engine has no need of it
    import pytest

POISON = "poison"  # in a prompt: its row aborts every engine that has it

Place = Literal["load", "prefill", "step", "hand", "last"]


class Death(msgspec.Struct, frozen=True):
    """`load`: with the nth report of progress, and before it is over. `prefill`: in the nth chunk.
    `step`: between two steps, once so many tokens were told by this engine; `hand`: with a step's
    events not told. `last`: with an answer's last event not told.

    The last three wait until no row is on trial: one that is would be blamed, as it should be.
    """

    place: Place
    count: int = 1
    by: int = signal.SIGKILL


class Plan(msgspec.Struct):
    """Mutable."""

    deaths: list[Death]  # still to come, one for an engine
    num_rows: int  # that are asked, all at once
    num_finished: int = 0  # of these
    has_suspects: bool = False  # an engine died that had rows
    died: list[str] = []  # where the engines did

    @classmethod
    def read(cls, folder: Path) -> "Plan":
        path = folder / "deaths.json"
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls([], 1)

    def write(self, folder: Path) -> None:
        (folder / "deaths.json").write_bytes(msgspec.json.encode(self))

    def is_complete(self, rows: Collection[int]) -> bool:
        """Whether an engine with these rows has all that did not finish yet."""
        return len(rows) + self.num_finished == self.num_rows

    def is_safe(self, told: Collection[int]) -> bool:
        """Whether nobody is blamed if an engine dies now that told its rows so many tokens each."""
        return not self.has_suspects or (self.is_complete(told) and min(told, default=0) >= 3)


async def _spawn(module: str, *arguments: str, **options: Any) -> Any:
    if module == "runtime.engine":
        module = "tests.runtime.engine_that_dies"  # has the other's name in its own
    return await spawn(module, *arguments, **options)


def sow(monkeypatch: "pytest.MonkeyPatch") -> None:
    """Have this process start only engines that die as planned, and never tire of it."""
    monkeypatch.setattr(child, "spawn", _spawn)
    monkeypatch.setattr(slot, "_CRASH_WINDOW_S", 0.0)
