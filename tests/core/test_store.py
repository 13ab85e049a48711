"""Group commit, statements that ride along, damage while running, and the end."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.core import store as store_file
from gateway.core import writer as writer_file
from gateway.core.dbfile import Durability
from gateway.core.errors import JournalDamaged, JournalUnavailable
from gateway.core.store import Store, open_store
from tests.support.wait import until

LONG_S = 3600.0


@asynccontextmanager
async def opened(
    path: Path, durability: Durability = "power", gap_s: float = 0.0, flush_s: float = LONG_S
) -> AsyncIterator[Store]:
    store = open_store(path / "journal.db", durability=durability, commit_gap_s=gap_s, flush_s=flush_s)
    store.start()
    try:
        yield store
    finally:
        await store.close()


async def rows(store: Store) -> list[int]:
    return [seq for (seq,) in await store.query("SELECT seq FROM changes ORDER BY seq")]


# -- group commit -------------------------------------------------------------------------------------------------------


async def test_the_first_change_after_quiet_commits_at_once_and_the_next_share(tmp_path: Path) -> None:
    """With a gap of an hour: the first is there at once, ten more wait together, and an urgent one takes them along."""
    async with opened(tmp_path, gap_s=LONG_S) as store:
        store.add_row(1, b"{}", urgent=False)
        await until(lambda: store.commits == 1)
        for seq in range(2, 12):
            store.add_row(seq, b"{}", urgent=False)
            await asyncio.sleep(0)
        assert (store.commits, store.pending) == (1, 10)
        store.add_row(12, b"{}", urgent=True)
        await until(lambda: store.commits == 2)
        assert await rows(store) == list(range(1, 13))


async def test_an_urgent_change_behind_a_commit_under_way_is_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, gap_s=LONG_S) as store:
        store.add_row(1, b"{}", urgent=False)
        await asyncio.sleep(0)
        assert store._under_way is not None
        store.add_row(2, b"{}", urgent=False)
        store.add_row(3, b"{}", urgent=True)
        await until(lambda: store.commits == 2)
        assert store.pending == 0


async def test_without_a_gap_every_turn_commits_and_a_turn_shares(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for seq in range(1, 101):
            store.add_row(seq, b"{}", urgent=False)
        await until(lambda: store.pending == 0)
        assert store.commits == 1
        store.add_row(101, b"{}", urgent=False)
        await until(lambda: store.pending == 0)
        assert store.commits == 2


async def test_with_card_only_the_flush_what_is_urgent_and_many_rows_write(tmp_path: Path) -> None:
    """A cursor that rides along does not write the card more often either."""
    async with opened(tmp_path, "card") as store:
        store.add_row(1, b"{}", urgent=False)
        await until(lambda: store.commits == 1)
        store.add_row(2, b"{}", urgent=False)
        store.execute_soon("INSERT OR REPLACE INTO cursors VALUES ('x', 2)")
        assert store._due_s > asyncio.get_running_loop().time() + LONG_S / 2
        store.add_row(3, b"{}", urgent=True)
        await until(lambda: store.commits == 2)
        for seq in range(4, 4 + store_file.CARD_ROWS):
            store.add_row(seq, b"{}", urgent=False)
        await until(lambda: store.commits == 3)


async def test_what_rides_along_is_at_most_five_seconds_late(tmp_path: Path) -> None:
    """`SOON_S` is the promise; made short here, nothing else commits and it is kept."""
    assert store_file.SOON_S == 5.0
    with patch.object(store_file, "SOON_S", 0.05):
        async with opened(tmp_path, gap_s=LONG_S) as store:
            store.execute_soon("INSERT INTO cursors VALUES ('x', 7)")
            made: list[int] = []
            for number in range(3):
                store.write_soon(lambda number=number: made.append(number))  # type: ignore[misc]
            assert not made
            await until(lambda: store.commits == 1)
            assert made == [0, 1, 2]
            assert await store.query("SELECT name, seq FROM cursors") == [("x", 7)]


async def test_statements_and_rows_of_one_turn_are_one_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        done: list[str] = []
        store.on_committed = lambda seq: done.append(f"row {seq}")
        store.add_row(1, b"{}", urgent=False)
        store.add_statements(("INSERT INTO cursors VALUES ('x', 1)", ()), then=lambda: done.append("then"))
        await store.execute("INSERT INTO cursors VALUES ('y', 1)")
        assert store.commits == 1
        assert done == ["then", "row 1"]


# -- mistakes -----------------------------------------------------------------------------------------------------------


async def test_a_wrong_statement_fails_for_its_caller_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All or nothing for the one who asked, everything for the others of that commit, and the journal goes on."""
    async with opened(tmp_path) as store:
        store.add_row(1, b"{}", urgent=False)
        wrong = asyncio.ensure_future(
            store.execute_many([("INSERT INTO cursors VALUES ('half', 1)", ()), ("INSERT INTO nowhere VALUES (1)", ())])
        )
        unbindable = asyncio.ensure_future(store.execute("INSERT INTO cursors VALUES ('big', ?)", (2**70,)))
        right = asyncio.ensure_future(store.execute("INSERT INTO cursors VALUES ('right', 1)"))
        store.execute_soon("INSERT INTO nowhere VALUES (2)")
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            await wrong
        with pytest.raises(OverflowError):
            await unbindable
        await right
        assert await rows(store) == [1]
        assert await store.query("SELECT name FROM cursors") == [("right",)]
        assert "nowhere VALUES (2)" in caplog.text
        with pytest.raises(sqlite3.IntegrityError):
            await store.execute("INSERT INTO cursors VALUES ('right', 2)")
        await store.execute("INSERT INTO cursors VALUES ('after', 2)")


async def test_a_cancelled_wait_takes_nothing_back_and_harms_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        first = asyncio.ensure_future(store.execute("INSERT INTO cursors VALUES ('a', 1)"))
        second = asyncio.ensure_future(store.execute("INSERT INTO cursors VALUES ('b', 1)"))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert await store.query("SELECT name FROM cursors ORDER BY name") == [("a",), ("b",)]


# -- a disk that takes nothing --------------------------------------------------------------------------------------------


async def test_a_full_disk_is_waited_out_in_order_and_without_loss(tmp_path: Path) -> None:
    """SQLite's own limit of pages stands in for the disk (`PRAGMA max_page_count`: the same SQLITE_FULL)."""
    body = b'{"x":"' + b"y" * 2000 + b'"}'
    with patch.object(writer_file, "_RETRY_S", (0.01,)):
        async with opened(tmp_path) as store:
            seen: list[int] = []
            store.on_committed = seen.append
            await store.execute("PRAGMA max_page_count=12")
            for seq in range(1, 51):
                store.add_row(seq, body, urgent=True)
                await asyncio.sleep(0)
            await until(lambda: store.problem, what="the disk is full")
            stuck = asyncio.ensure_future(store.execute("INSERT INTO cursors VALUES ('x', 1)"))
            before = await rows(store)
            assert len(before) < 50
            assert not stuck.done()
            store._connection.execute("PRAGMA max_page_count=1000000")
            await stuck
            assert store.problem == ""
            assert await rows(store) == list(range(1, 51))
            assert [seq for seq in seen if seq] == sorted(seq for seq in seen if seq)


async def test_an_end_on_a_full_disk_does_not_hang_and_is_not_clean(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.execute("PRAGMA max_page_count=12")
        store.add_row(1, b"y" * 100_000, urgent=True)
        await until(lambda: store.problem)
        stuck = asyncio.ensure_future(store.execute("INSERT INTO cursors VALUES ('x', 1)"))
        await asyncio.sleep(0)
        await store.close(("INSERT INTO meta VALUES ('clean', '1')", ()))
        with pytest.raises(JournalUnavailable):
            await stuck
    connection = sqlite3.connect(tmp_path / "journal.db")
    assert connection.execute("SELECT * FROM meta").fetchall() == []
    connection.close()


# -- damage while running -------------------------------------------------------------------------------------------------


def overwrite(path: Path, start: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(size))


async def filled(store: Store, count: int = 200) -> None:
    for seq in range(1, count + 1):
        store.add_row(seq, b'{"x":"' + b"y" * 1000 + b'"}', urgent=False)
    await store.flush()
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def test_noise_is_found_by_whoever_reads_it_and_all_who_wait_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        damaged: list[JournalDamaged] = []
        store.on_damaged = damaged.append
        await filled(store)
        overwrite(store.path, 4096, store.path.stat().st_size - 4096)
        with pytest.raises(JournalDamaged):
            await store.query("SELECT body FROM changes")
        assert len(damaged) == 1
        store.add_row(1, b"{}", urgent=True)
        for attempt in (store.query("SELECT 1"), store.execute("SELECT 1"), store.flush()):
            with pytest.raises(JournalDamaged):
                await attempt


def replace(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_bytes(b"SQLite format 3\x00")


HARM: dict[str, Callable[[Path], None]] = {
    "noise": lambda path: overwrite(path, 0, 4096),
    "cut": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "replaced": replace,
}


@pytest.mark.parametrize("harm", HARM)
async def test_the_writer_notices_an_overwritten_or_replaced_file_by_itself(tmp_path: Path, harm: str) -> None:
    """Nobody reads; the next commit after some seconds looks at the file."""
    with patch.object(writer_file, "_LOOK_EVERY_S", 0.0):
        async with opened(tmp_path) as store:
            damaged: list[JournalDamaged] = []
            store.on_damaged = damaged.append
            await filled(store, 10)
            HARM[harm](store.path)
            waiting = asyncio.ensure_future(store.execute("INSERT INTO cursors VALUES ('x', 1)"))
            await until(lambda: damaged, what=harm)
            with pytest.raises(JournalDamaged):
                await waiting


async def test_the_whole_check_finds_noise_in_what_nobody_reads(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await filled(store)
        await store.check()
        overwrite(store.path, 20 * 4096, 4096)
        with pytest.raises(JournalDamaged):
            await store.check()


async def test_a_seq_that_is_there_already_is_damage(tmp_path: Path) -> None:
    """Never two changes of one seq, whatever else has gone wrong."""
    async with opened(tmp_path) as store:
        damaged: list[JournalDamaged] = []
        store.on_damaged = damaged.append
        await store.execute("INSERT INTO changes VALUES (5, 'somebody else')")
        store.add_row(5, b"{}", urgent=True)
        await until(lambda: damaged)
        assert "UNIQUE" in damaged[0].what


async def test_a_file_that_cannot_be_read_at_present_is_no_damage(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        damaged: list[JournalDamaged] = []
        store.on_damaged = damaged.append
        with (
            patch.object(store_file, "_READ_RETRY_S", (0.0,)),
            patch.object(store_file, "open_for_reading", side_effect=_cannot_open()),
        ):
            with pytest.raises(JournalUnavailable):
                await store.query("SELECT 1")
        assert not damaged
        assert await store.query("SELECT 1") == [(1,)]
    with pytest.raises(JournalUnavailable):
        await store.query("SELECT 1")


def _cannot_open() -> sqlite3.OperationalError:
    try:
        sqlite3.connect("file:/nowhere/at/all?mode=ro", uri=True)
    except sqlite3.OperationalError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("durability", ["process", "card"])
async def test_what_must_outlive_a_loss_of_power_is_synced_in_every_mode(
    tmp_path: Path, durability: Durability
) -> None:
    """Blocks of seqs are: the one commit is synced, the next is not any more."""
    async with opened(tmp_path, durability) as store:
        said: list[str] = []
        store._connection.set_trace_callback(said.append)
        store.add_statements(("INSERT INTO meta VALUES ('reserved', '8000')", ()), must_sync=True)
        await store.flush()
        assert said[0] == "PRAGMA synchronous=FULL"
        assert said[-2:] == ["COMMIT", "PRAGMA synchronous=NORMAL"]
        said.clear()
        await store.execute("INSERT INTO meta VALUES ('other', '1')")
        assert not [one for one in said if "PRAGMA" in one]
