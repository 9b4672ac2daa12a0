"""`python -m tests.runtime.engine_that_dies FD FOLDER SETTINGS`: the engine, dying as planned.

By SIGKILL or SIGSTOP, at the very places that `tests.runtime.deaths` names; by SIGABRT with poison.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from runtime.engine_messages import Generate, Report, Step
from runtime.events import Delta, Finished, RowEvent
from runtime.processes.lean import leave_out_transformers
from tests.runtime.deaths import POISON, Place, Plan

if __name__ == "__main__":
    leave_out_transformers()

from runtime.engine import __main__ as engine
from runtime.engine.batch.batch import Batch
from runtime.engine.loop import EngineLoop

_load, _make_loop = vars(engine)["load"], vars(engine)["_loop"]
_start, _prefill, _step = EngineLoop._start, Batch._prefill, Batch.step


class Mortal:
    """Has a hand in what its engine does, up to the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plan = Plan.read(folder)
        self._told: Counter[int] = Counter()  # tokens that the parent can read, by row
        self._poisonous: set[int] = set()
        self._num_reports = self._num_chunks = 0
        self._batch: Batch | None = None

    def take(self, owner: type, name: str, method: Callable[..., Any]) -> None:
        """Have it called in place of the owner's, and with the owner."""
        setattr(owner, name, lambda *arguments, **options: method(*arguments, **options))

    # --- what the engine does -------------------------------------------------------------------

    def load(
        self, folder: Path, report: Callable[[int, int], None], *known: Any, **asked: Any
    ) -> Any:
        def tell(done: int, total: int) -> None:
            report(done, total)
            self._num_reports += 1
            self._die("load", self._num_reports)

        loaded = _load(folder, tell, *known, **asked)
        self._die("load")
        return loaded

    def make_loop(self, *arguments: Any) -> Any:
        *others, send = arguments
        return _make_loop(*others, partial(self.tell, send))

    def tell(self, send: Callable[[Report], None], report: Report) -> None:
        events = report.events if isinstance(report, Step) else []
        finished = [event.id for event in events if isinstance(event, Finished)]
        if events and self._is_safe(finished):
            self._die("hand", self._told.total())
            if finished:
                self._die("last")
        send(report)
        self._plan.num_finished += len(finished)
        for event in events:
            if isinstance(event, Delta):
                self._told[event.id] += len(event.tokens)

    def start(self, loop: EngineLoop, command: Generate) -> None:
        self._batch = loop._batch
        if POISON in loop._loaded.tokenizer.decode(command.tokens):
            self._poisonous.add(command.id)
        _start(loop, command)

    def prefill(self, batch: Batch, *arguments: Any, **options: Any) -> None:
        is_reading = bool(batch._prefilling.rows)
        _prefill(batch, *arguments, **options)
        if is_reading:
            self._num_chunks += 1
            self._die("prefill", self._num_chunks if batch._prefilling.rows else sys.maxsize)

    def step(self, batch: Batch) -> list[RowEvent]:
        if not self._plan.has_suspects and not self._plan.is_complete(self._rows()):
            time.sleep(0.001)  # the first death shall strike all
            return []
        if self._is_safe():
            self._die("step", self._told.total())
        events = _step(batch)
        poisonous = [row for row in batch._rows if row.id in self._poisonous]
        if any(row.is_drawing and row.num_drawn > 4 for row in poisonous):
            self._note("poison")
            os.abort()
        return events

    # --- its end --------------------------------------------------------------------------------

    def _is_safe(self, finished: Iterable[int] = ()) -> bool:
        return self._plan.is_safe([self._told[row] for row in self._rows().union(finished)])

    def _rows(self) -> set[int]:
        return {row.id for row in self._batch._rows} if self._batch else set()

    def _die(self, place: Place, count: int = sys.maxsize) -> None:
        """If this is the place where it shall."""
        deaths = self._plan.deaths
        if deaths and deaths[0].place == place and deaths[0].count <= count:
            death = deaths.pop(0)
            self._note(place)
            os.kill(os.getpid(), death.by)

    def _note(self, place: str) -> None:
        self._plan.died.append(place)
        self._plan.has_suspects |= place != "load"
        self._plan.write(self._folder)


def main() -> int:
    mortal = Mortal(Path(sys.argv[2]))
    vars(engine).update(load=mortal.load, _loop=mortal.make_loop)
    mortal.take(EngineLoop, "_start", mortal.start)
    mortal.take(Batch, "_prefill", mortal.prefill)
    mortal.take(Batch, "step", mortal.step)
    return engine.main()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
