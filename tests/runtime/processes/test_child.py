"""Tests of runtime.processes.child: whatever happens while a child starts, none is left behind."""

import asyncio

import pytest

from runtime.processes.child import Child
from tests import processes


@pytest.mark.parametrize("delay_s", [0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016])
async def test_a_cancelled_spawn_leaves_no_process(delay_s: float) -> None:
    """Cancelled anywhere on its way, also when the process runs and its socket is not open yet."""
    spawning = asyncio.create_task(Child.spawn("runtime.text"))
    await asyncio.sleep(delay_s)
    spawning.cancel()
    try:
        await (await spawning).kill()  # it was quicker
    except asyncio.CancelledError:
        pass
    assert not processes.descendants()
