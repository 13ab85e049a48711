"""The gateway's own journal at work: changes appended as fast as it takes them, and readers that follow by cursor.

Usage: `python -m tests.bench.load.journal_changes FILE CHANGES READERS`; prints the seconds until the last reader had the last change,
and the mean size of a row in bytes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import uvloop

from gateway.core.clock import Clock
from gateway.core.journal import Journal
from gateway.core.store import open_store

_BURST = 100
"""So many are appended before others have their turn: a line's worth of readings, as a fast one brings them."""
_READ_LIMIT = 1000


async def run(path: Path, count: int, readers: int) -> None:
    store = open_store(path, durability="power", commit_gap_s=0)
    journal = Journal(store, Clock())
    journal.start()
    first = journal.head
    begun_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(follow(journal, first, count)) for _ in range(readers)]
        await append(journal, count)
    took_s = time.monotonic() - begun_s
    bytes_seen = {task.result() for task in following}
    assert len(bytes_seen) == 1, "the readers saw different rows"
    await journal.close()
    print(took_s, bytes_seen.pop() / count)


async def append(journal: Journal, count: int) -> None:
    """Changes of some 200 bytes, as a thermometer makes them."""
    for number in range(count):
        journal.append(
            "property.changed",
            thing="living-room-2",
            name="temperature",
            value=number / 100,
            unit="°C",
            quality="good",
        )
        if number % _BURST == _BURST - 1:
            await journal.room()
            await asyncio.sleep(0)


async def follow(journal: Journal, cursor: int, count: int) -> int:
    """Reads every change and judges its place; the bytes it saw."""
    end, seen_bytes = cursor + count, 0
    while cursor < end:
        moved = journal.moved()
        entries = await journal.read(cursor, _READ_LIMIT)
        for entry in entries:
            cursor += 1
            assert entry.seq == cursor, f"{entry.seq} came instead of {cursor}"
            seen_bytes += len(entry.body)
        if not entries:
            await moved.wait()
    return seen_bytes


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as on_uvloop:
        on_uvloop.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
