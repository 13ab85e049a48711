"""What a test may not leave behind: descriptors, tasks, threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.wait import until


def descriptors() -> dict[str, str]:
    """The open descriptors of this process, by number, and what each leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one of listdir itself
            continue
    return {name: where for name, where in found.items() if where != os.devnull}  # libuv keeps one in reserve


def named_threads() -> set[str]:
    """Threads beside the pool of `asyncio.to_thread`, which grows and stays."""
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fails if more descriptors, tasks or threads are there after the block than before."""
    await asyncio.to_thread(lambda: None)  # the pool's own wake-up descriptors and first thread
    fds, tasks, threads = descriptors(), asyncio.all_tasks(), named_threads()
    yield
    try:
        await until(lambda: len(descriptors()) <= len(fds))
        await until(lambda: asyncio.all_tasks() <= tasks)
        await until(lambda: named_threads() <= threads)
    except AssertionError as error:
        left = {number: where for number, where in descriptors().items() if fds.get(number) != where}
        error.add_note(f"left: {left}, {asyncio.all_tasks() - tasks}, {named_threads() - threads}")
        raise
