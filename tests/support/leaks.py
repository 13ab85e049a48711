"""What a test may not leave behind: descriptors, tasks, threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.wait import until


def descriptors() -> Counter[str]:
    """What the open descriptors of this process lead to."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
        except FileNotFoundError:  # the one of listdir itself
            continue
    del found[os.devnull]  # libuv keeps one in reserve
    return found


def named_threads() -> set[str]:
    """Threads beside the pool of `asyncio.to_thread`, which grows and stays."""
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fails if descriptors, tasks or threads are there after the block that were not there before."""
    await asyncio.to_thread(lambda: None)  # the pool's own wake-up descriptors and first thread
    fds, tasks, threads = descriptors(), asyncio.all_tasks(), named_threads()
    yield
    try:
        await until(lambda: not descriptors() - fds)
        await until(lambda: asyncio.all_tasks() <= tasks)
        await until(lambda: named_threads() <= threads)
    except AssertionError as error:
        error.add_note(f"left: {descriptors() - fds}, {asyncio.all_tasks() - tasks}, {named_threads() - threads}")
        raise
