"""`serve --starter`: brings the starter beside the running server, and tells how far it is."""

import contextlib
import logging
import sys
from collections.abc import Callable

import click

from registry.errors import RegistryError
from registry.hub.catalog import STARTER_ID
from registry.jobs import starter
from registry.jobs.jobs import Jobs
from registry.jobs.order import Package
from registry.store.store import BUILT_IN_ID, Store
from scripts.progress import Show, progress

logger = logging.getLogger(__name__)


async def bring(jobs: Jobs, store: Store, on_ready: Callable[[], None]) -> None:
    """Bring it unless it was here before; without it the server goes on as it is."""
    try:
        job = starter.bring(jobs, store)
        if job is None:
            return
        click.echo(
            f"Starter: {STARTER_ID} is on its way ({starter.SIZE_BYTES / 1e6:.0f} MB, once); "
            f"{BUILT_IN_ID} answers meanwhile."
        )
        with _progress() as show:
            async for state in job.follow():
                show(state)
        match job.state.status:
            case "done":
                click.echo(f"Starter: {STARTER_ID} is here.")
                on_ready()
            case "cancelled":
                starter.note_brought(store.home)
                click.echo(f"Starter: cancelled; `mlx-edge pull {STARTER_ID}` brings it.")
            case "failed":  # the log has said why
                click.echo("Starter: it did not come, and the next start tries again.")
    except (RegistryError, OSError) as error:
        logger.warning("%s is not brought: %s", STARTER_ID, error)


async def skip(jobs: Jobs) -> None:
    """End what an earlier server has begun, and this one would go on with."""
    job = jobs.running(STARTER_ID)
    if job is not None and isinstance(job.order, Package):
        await jobs.cancel(job.id)


def _progress() -> contextlib.AbstractContextManager[Show]:
    """A bar where a person watches; a log has no use for one."""
    if sys.stdout.isatty():
        return progress(STARTER_ID)
    return contextlib.nullcontext(lambda state: None)
