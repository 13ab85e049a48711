"""Reading back by time, with the times mended of what was written before the clock was set."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.change import Entry, Filter, decode
from gateway.core.clock import parse_time
from gateway.core.history import History, mended, offset_ms, true_time
from gateway.core.standing import ClockSet
from tests.core.house import LINK, PLAIN, living, rules
from tests.support.clock import BEGIN_S, FakeClock

TEMPERATURE = Filter(("attic",), ("t",), ("property.changed",))


def values(entries: list[Entry]) -> list[object]:
    return [decode(entry.body).value for entry in entries]


def test_offsets_of_the_same_boot_add_up_until_the_clock_was_right() -> None:
    sets = [
        ClockSet(10, "a", 1000, "unsure"),
        ClockSet(20, "a", 200, "set"),
        ClockSet(30, "a", 5, "set"),
        ClockSet(40, "b", 7, "unsure"),
    ]
    assert [offset_ms(sets, seq, "a") for seq in (1, 10, 15, 20, 25, 31)] == [1200, 200, 200, 5, 5, 0]
    assert offset_ms(sets, 1, "b") == 7
    assert offset_ms(sets, 1, "c") == 0


async def test_what_was_written_before_the_clock_was_set_is_found_at_its_true_time(tmp_path: Path) -> None:
    """The rows stay as they are; the answer has the true time. Another boot's rows are none of it."""
    async with living(tmp_path, clock=FakeClock(boot="earlier", synchronised=False), book=rules(t=PLAIN)) as core:
        core.intake(LINK).report("attic", {"t": 0})
    clock = FakeClock(wall_s=1000.0, synchronised=False, boot="now")
    async with living(tmp_path, clock=clock, book=rules(t=PLAIN)) as core:
        intake = core.intake(LINK)
        for value in (1, 2, 3):
            clock.advance(60)
            intake.report("attic", {"t": value})
        clock.step(BEGIN_S + 3600 - 1000, synchronised=True)
        clock.advance(60)
        intake.report("attic", {"t": 4})
        await core.store.flush()
    async with living(tmp_path, clock=clock, book=rules(t=PLAIN)) as core:  # what is needed for it survives a restart
        page = await History(core.journal).between("attic", "t", BEGIN_S + 3600 + 120, BEGIN_S + 3600 + 240)
        assert values(page.entries) == [2, 3, 4]
        assert page.before is None
        assert [parse_time(decode(entry.body).time) - BEGIN_S - 3600 for entry in page.entries] == [120, 180, 240]
        raw = await core.journal.read(page.entries[0].seq - 1, 1)
        assert decode(raw[0].body).time.startswith("1970")
        assert true_time(raw[0].body, core.journal.clock_sets) == pytest.approx(BEGIN_S + 3720)
        assert decode(mended(raw[0], core.journal.clock_sets).body).boot == "now"
        assert values((await History(core.journal).between("attic", "t", BEGIN_S - 10, BEGIN_S + 10)).entries) == [0]


async def test_pages_newest_first_without_holes_or_repeats(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(**{"*": PLAIN})) as core:
        intake, history = core.intake(LINK), History(core.journal)
        for number in range(100):
            clock.advance(1)
            intake.report("attic", {"t": number, "h": number})
        await core.store.flush()
        found: list[object] = []
        before: int | None = None
        while True:
            page = await history.back(TEMPERATURE, first_s=BEGIN_S + 11, last_s=BEGIN_S + 90, before=before, limit=7)
            found += values(page.entries)
            before = page.before
            if before is None:
                break
        assert found == list(range(89, 9, -1))


async def test_a_long_journal_is_not_read_to_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the time that is asked for, looking ends; and one answer looks through so many rows and no more."""
    monkeypatch.setattr("gateway.core.history.PAGE", 10)
    monkeypatch.setattr("gateway.core.history.MOST_ROWS", 50)
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(t=PLAIN)) as core:
        for number in range(300):
            clock.advance(60)
            core.intake(LINK).report("attic", {"t": number})
        await core.store.flush()
        reads: list[int] = []
        read_back = core.journal.read_back

        async def counted(before: int, limit: int) -> list[Entry]:
            reads.append(before)
            return await read_back(before, limit)

        monkeypatch.setattr(core.journal, "read_back", counted)
        page = await History(core.journal).back(TEMPERATURE, first_s=BEGIN_S + 299 * 60)
        assert (values(page.entries), page.before, len(reads)) == ([299, 298], None, 2)
        reads.clear()
        page = await History(core.journal).back(TEMPERATURE, last_s=BEGIN_S)
        assert (page.entries, len(reads)) == ([], 5)
        assert page.before is not None


async def test_globs_in_an_id_do_not_match_others(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(**{"*": PLAIN})) as core:
        core.intake(LINK).report("attic", {"t": 1})
        await core.store.flush()
        assert (await History(core.journal).between("att*", "?", 0, BEGIN_S * 2)).entries == []
