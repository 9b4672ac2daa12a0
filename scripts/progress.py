"""A job's progress: a bar on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import click

from registry.jobs.job import JobState

Show: TypeAlias = Callable[[JobState], None]

_LINE_INTERVAL_S = 5.0
_LEAST_BYTES = 100_000


@contextmanager
def progress(name: str) -> Iterator[Show]:
    """Yields what to call with each state of a model's job."""
    if not sys.stdout.isatty():
        yield _Lines().show
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(name, total=None)
        stage = ""

        def show(state: JobState) -> None:
            nonlocal stage
            if state.stage != stage:
                stage = state.stage
                bar.reset(task, description=f"{name}: {stage}", total=state.bytes_total)
            bar.update(task, completed=state.bytes_done, total=state.bytes_total)

        yield show


class _Lines:
    """A line for each stage, and one every few seconds while it lasts."""

    def __init__(self) -> None:
        self._stage = ""
        self._said_at = 0.0

    def show(self, state: JobState) -> None:
        now = time.monotonic()
        if state.stage != self._stage or now - self._said_at >= _LINE_INTERVAL_S:
            self._stage, self._said_at = state.stage, now
            click.echo(_line(state))


def _line(state: JobState) -> str:
    """One state. Small numbers are left out: they may count something other than bytes."""
    done, total = state.bytes_done, state.bytes_total or 0
    if max(done, total) < _LEAST_BYTES:
        return state.stage
    speed = f", {state.bytes_per_s / 1e6:.1f} MB/s" if state.bytes_per_s > _LEAST_BYTES else ""
    of_total = f" of {total / 1e6:.1f}" if total else ""
    return f"{state.stage}: {done / 1e6:.1f}{of_total} MB{speed}"
