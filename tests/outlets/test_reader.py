"""The loop of every durable outlet: in order, filtered, and no gap hidden."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import patch

from gateway.core.change import Entry, Filter, decode
from gateway.core.errors import JournalUnavailable
from gateway.outlets import reader as reader_file
from gateway.outlets.reader import Reader
from tests.core.house import living


async def test_it_waits_for_what_passes_and_says_how_far_it_has_read(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        reader = Reader(core.journal, after=0, filter=Filter(things=("attic",)))
        skipped: list[int] = []
        reader.on_skipped = skipped.append
        waiting = asyncio.create_task(reader.next(10))
        for thing in ("cellar", "cellar", "attic", "cellar"):
            core.journal.append("event.raised", thing=thing, name="x")
            await core.store.flush()
        batch = await waiting
        assert ([entry.seq for entry in batch.entries], batch.after) == ([3], 3)
        waiting = asyncio.create_task(reader.next(10))
        await asyncio.sleep(0)
        assert (reader.after, skipped[-1]) == (4, 4)
        waiting.cancel()
        await asyncio.wait([waiting])
        core.journal.append("event.raised", thing="attic", name="x")
        assert [entry.seq for entry in (await reader.next(10)).entries] == [5]


async def test_no_filter_hides_a_gap(tmp_path: Path) -> None:
    """Neither one in the journal nor the one of a reader that the floor has passed."""
    async with living(tmp_path) as core:
        for _ in range(20):
            core.journal.append("event.raised", thing="cellar", name="x")
        await core.store.flush()
        core.journal.close = core.store.close  # type: ignore[method-assign]  # not a clean end
    async with living(tmp_path) as core:
        await core.store.flush()
        nothing = Filter(("attic",), ("t",), ("alert.raised",))
        batch = await Reader(core.journal, after=3, filter=nothing).next(100)
        assert [entry.type for entry in batch.entries] == ["journal.gap"]
        core.journal.forget_until(10)
        reader = Reader(core.journal, after=3, filter=nothing)
        gap = decode((await reader.next(100)).entries[0].body)
        assert (gap.first, gap.last) == (4, 10)
        assert [entry.type for entry in (await reader.next(100)).entries] == ["journal.gap"]


async def test_a_disk_that_cannot_be_read_for_a_while_is_waited_out(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        core.journal.append("event.raised", thing="attic", name="x")
        await core.store.flush()
        read, failures = core.journal.read, [1, 2, 3]

        async def sometimes(after: int, limit: int) -> list[Entry]:
            if failures:
                failures.pop()
                raise JournalUnavailable("journal.db", "disk I/O error")
            return await read(after, limit)

        with patch.object(core.journal, "read", sometimes), patch.object(reader_file, "AGAIN_S", 0.0):
            assert [entry.seq for entry in (await Reader(core.journal, after=0).next(5)).entries] == [1]
