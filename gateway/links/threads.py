"""Blocking work in a thread that never outlives its owner's wait."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def finish(call: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """Runs `call` in a thread and waits for it in any case.

    A cancelled wait goes on until the thread has ended, undoes what it did and is then cancelled: so nothing that the thread opened is left
    without an owner.

    Args:
        call: blocks, but not for ever.
        undo: takes back the result of a call whose owner was cancelled; quick.

    Raises:
        What `call` raises.
    """
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:  # cancelled again: the first one is raised below
                continue
        if not future.cancelled() and future.exception() is None and undo is not None:
            undo(future.result())
        raise
