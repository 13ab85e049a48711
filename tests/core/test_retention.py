"""What is kept and what goes: by days and by size, and never what a durable reader or the snapshot still needs, except at the cap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.core import retention as retention_file
from gateway.core.change import decode
from gateway.core.core import Core, Settings
from gateway.outlets.reader import Reader
from tests.core.house import LINK, PLAIN, living, rules
from tests.support.clock import BEGIN_S, FakeClock
from tests.support.wait import until

DAY_S = 86400.0
BY_DAYS = Settings(commit_gap_s=0.0, keep_days=3)
BY_SIZE = Settings(commit_gap_s=0.0, max_mb=0.3)


async def days(core: Core, clock: FakeClock, count: int, rows: int = 10) -> None:
    """So many days with so many changes each."""
    for _ in range(count):
        for number in range(rows):
            core.journal.append("event.raised", thing="attic", name="x", value=number)
        clock.advance(DAY_S)
    await core.store.flush()


async def kept(core: Core) -> list[int]:
    return [seq for (seq,) in await core.store.query("SELECT seq FROM changes ORDER BY seq")]


async def test_what_is_older_than_its_days_goes(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, settings=BY_DAYS) as core:
        await days(core, clock, 10)
        assert await core.retention.tidy() == 71  # of ten days' rows, the last three days'
        assert await kept(core) == list(range(71, 101))
        assert core.retention.kept_since == decode((await core.journal.read(70, 1))[0].body).time
        assert await core.retention.tidy() == 71
    async with living(tmp_path, clock=clock) as core:
        assert core.journal.floor == 71


async def test_a_durable_reader_holds_the_floor(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, settings=BY_DAYS) as core:
        core.cursors.move("mqtt", 40)
        core.cursors.move("webhook/a", 25)
        await days(core, clock, 10)
        assert await core.retention.tidy() == 26
        core.cursors.forget("webhook/a")
        assert await core.retention.tidy() == 41


async def test_the_snapshot_is_written_before_what_it_needs_goes(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, settings=BY_DAYS, book=rules(t=PLAIN)) as core:
        core.intake(LINK).report("attic", {"t": 7})
        await days(core, clock, 10)
        assert await core.retention.tidy() > 3
        assert core.snapshots.saved >= core.journal.floor - 1
        core.snapshots.save = lambda: None  # type: ignore[method-assign]
    async with living(tmp_path, clock=clock, book=rules(t=PLAIN)) as core:
        assert core.state.things["attic"].properties["t"].value == 7


async def test_at_the_size_limit_the_floor_passes_a_cursor_and_its_reader_gets_its_gap(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, settings=BY_SIZE) as core:
        core.cursors.move("slow", 5)
        for number in range(3000):
            core.journal.append("event.raised", thing="attic", name="x", value="y" * 200)
            if number % 500 == 0:
                await core.store.flush()
        await core.store.flush()
        assert await core.retention.used_bytes() > 300_000
        floor = await core.retention.tidy()
        assert await core.retention.used_bytes() <= 300_000
        assert floor > 1000
        assert core.journal.head == 3000
        reader = Reader(core.journal, after=5)
        batch = await reader.next(10)
        gap = decode(batch.entries[0].body)
        assert (gap.type, gap.first, gap.last, batch.after) == ("journal.gap", 6, floor - 1, floor - 1)
        assert [entry.seq for entry in (await reader.next(2)).entries] == [floor, floor + 1]


async def test_much_that_comes_at_once_is_not_left_until_the_next_quarter_of_an_hour(tmp_path: Path) -> None:
    async with living(tmp_path, settings=BY_SIZE) as core:
        running = asyncio.create_task(core.retention.run())
        await asyncio.sleep(0)
        for _ in range(3000):
            core.journal.append("event.raised", thing="attic", name="x", value="y" * 200)
        await until(lambda: core.journal.floor > 1, what="the oldest go")
        running.cancel()
        await asyncio.wait([running])


async def test_no_time_of_a_clock_that_was_never_set_makes_anything_old(tmp_path: Path) -> None:
    """Rows of 1970 between newer ones, or as the first of all, do not go as if they were decades old."""
    early = FakeClock(wall_s=100.0, synchronised=False, boot="one")
    async with living(tmp_path, clock=early, settings=BY_DAYS) as core:
        await days(core, early, 1)
    good = FakeClock(boot="two")
    async with living(tmp_path, clock=good, settings=BY_DAYS) as core:
        await days(core, good, 1)
    again = FakeClock(wall_s=100.0, synchronised=False, boot="three")
    async with living(tmp_path, clock=again, settings=BY_DAYS) as core:
        await days(core, again, 1)
        assert await core.retention.tidy() == 1, "nobody knows what is old"
        again.step(BEGIN_S + 2.5 * DAY_S - again.wall_s(), synchronised=True)
        assert await core.retention.tidy() == 1
        again.advance(1 * DAY_S)
        assert await core.retention.tidy() == 21, "the good ones are, and with them what stood before them"
        assert (await kept(core))[0] == 21


async def test_what_was_written_before_the_clock_was_set_ages_by_its_true_time(tmp_path: Path) -> None:
    clock = FakeClock(wall_s=100.0, synchronised=False)
    async with living(tmp_path, clock=clock, settings=BY_DAYS) as core:
        await days(core, clock, 2)
        clock.step(BEGIN_S, synchronised=True)
        await days(core, clock, 1)
        assert await core.retention.tidy() == 1
        clock.advance(1.5 * DAY_S)
        assert await core.retention.tidy() == 21
        clock.advance(5 * DAY_S)
        await days(core, clock, 1)
        await core.retention.tidy()
        assert core.journal.clock_sets == []


async def test_the_floor_moves_in_slices_and_readers_go_on_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_file, "SLICE", 7)
    clock = FakeClock()
    async with living(tmp_path, clock=clock, settings=BY_DAYS) as core:
        await days(core, clock, 10)
        tidying = asyncio.create_task(core.retention.tidy())
        floors: set[int] = set()
        while not tidying.done():
            floors.add(core.journal.floor)
            assert (await core.journal.read(80, 5))[0].seq == 81
            await asyncio.sleep(0)
        assert await tidying == 71
        assert len(floors) > 3
