"""Slots: in turn, and none lost to a cancelled waiter."""

from __future__ import annotations

import asyncio

import pytest

from gateway.outlets.mqtt.slots import Slots


async def turns(count: int = 3) -> None:
    """Lets the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_those_who_wait_get_theirs_in_turn() -> None:
    slots = Slots(1)
    assert slots.take()
    got: list[str] = []

    async def want(name: str) -> None:
        await slots.get()
        got.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(want(name))
        await turns()
        assert not slots.take()
        for _ in range(3):
            slots.give()
    assert got == ["a", "b", "c"]
    slots.give()
    assert slots.take()
    assert not slots.take()


@pytest.mark.parametrize("given_first", [True, False])
async def test_a_cancelled_waiter_takes_no_slot_with_it(given_first: bool) -> None:
    """Neither when it had been handed one in the same moment, nor when it had not."""
    slots = Slots(0)
    waiter = asyncio.create_task(slots.get())
    await turns()
    if given_first:
        slots.give()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    if not given_first:
        slots.give()
    assert slots.take()
    assert not slots.take()
