"""What is counted of the process itself."""

from __future__ import annotations

import asyncio
import time

from gateway.ops.metrics import Family, Loop
from tests.support.wait import until


def figures(families: list[Family]) -> dict[str, float]:
    return {family.name: family.samples[()] for family in families}


async def test_a_loop_that_was_held_up_says_for_how_long() -> None:
    """The lag is the latest that a timer was since it was asked last; then it begins anew."""
    loop = Loop()
    assert figures(loop.families())["hearthgate_loop_lag_seconds"] == 0
    end_s = time.monotonic() + 20
    worst_s = 0.0
    while worst_s < 0.1 and time.monotonic() < end_s:  # whether a timer is due while it sleeps, is chance
        time.sleep(0.4)
        await asyncio.sleep(0.01)
        worst_s = figures(loop.families())["hearthgate_loop_lag_seconds"]
    assert worst_s >= 0.1


async def test_tasks_are_counted() -> None:
    """One more task, one more in the figure."""
    loop = Loop()
    before = figures(loop.families())["hearthgate_tasks"]
    task = asyncio.create_task(asyncio.sleep(60))
    assert figures(loop.families())["hearthgate_tasks"] == before + 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_loop_is_not_woken_where_nobody_reads_the_metrics() -> None:
    """A minute after the last reading it looks no more; asked again, it looks again."""
    loop = Loop()
    looked = [loop.is_looking]
    loop.families()
    looked.append(loop.is_looking)
    assert looked == [False, True]
    loop.looks_left = 1
    await until(lambda: not loop.is_looking, what="it stops looking")
    loop.families()
    assert loop.is_looking
