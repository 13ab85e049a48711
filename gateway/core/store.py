"""The journal's file as the event loop sees it: group commit, statements that ride along, queries, and the end.

The event loop gathers rows and statements into a batch, hands it to the writer thread, and learns when it is committed; whatever was
gathered meanwhile is the next batch. Only one batch is under way at a time, so order is kept by construction.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gateway.core.dbfile import (
    Durability,
    failure_of,
    is_damage,
    is_weather,
    open_database,
    open_for_reading,
    set_aside,
)
from gateway.core.errors import JournalDamaged, JournalUnavailable
from gateway.core.writer import Batch, Piece, Statement, Writer

__all__ = ["Durability", "Statement", "Store", "open_store", "set_aside"]

SOON_S = 5.0
"""What can wait is committed at most this late; with `card`, with the next flush."""

FULL_ENOUGH_ROWS = 20
"""A commit of so many rows takes along what can wait: one page more is little beside them. To a lone change it would be as much again."""

CLOSE_S = 3.0
"""A disk that takes nothing is given up at the end after this time; at once, if it is known to take nothing."""

CARD_ROWS = 4000
"""With `card`, so many rows are written without waiting for the flush."""

_READ_RETRY_S = (0.2, 0.5, 1.0)

log = logging.getLogger(__name__)


class Store:
    """The journal's file. Make it with `open_store`; use it from one event loop only.

    Attributes:
        on_committed: called in the loop after each commit with the highest seq it wrote (0 for none).
        on_damaged: called in the loop, once, when the file turns out to be no database any more.
        problem: why the file cannot be written at present; empty when it can.
        commits: so many were made.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, durability: Durability, commit_gap_s: float, flush_s: float
    ) -> None:
        self.path = path
        self.durability: Durability = durability
        self.commits = 0
        self.on_committed: Callable[[int], None] = lambda seq: None
        self.on_damaged: Callable[[JournalDamaged], None] = lambda error: None
        self._connection = connection
        self._writer = Writer(connection, path, durability, self._ended, self._report_damage)
        self._is_card = durability == "card"
        self._gap_s = flush_s if self._is_card else commit_gap_s
        self._soon_s = max(SOON_S, flush_s) if self._is_card else SOON_S
        self._next = Batch()
        self._under_way: Batch | None = None
        self._begun_s = float("-inf")
        self._due_s = self._late_due_s = float("inf")
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = float("inf")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-reader")
        self._reader: sqlite3.Connection | None = None
        self._ended_by: JournalDamaged | JournalUnavailable | None = None

    def start(self) -> None:
        """Begins to commit. Call it in the loop that will use the store."""
        self._loop = asyncio.get_running_loop()
        self._writer.start(self._loop)

    # -- writing -----------------------------------------------------------------------------------------------------

    @property
    def problem(self) -> str:
        return self._writer.problem

    @property
    def pending(self) -> int:
        """Rows that are not committed yet."""
        return len(self._next.rows) + (len(self._under_way.rows) if self._under_way else 0)

    def add_row(self, seq: int, body: bytes, *, urgent: bool) -> None:
        """Puts a journal row into the next commit; `urgent` begins that at once."""
        rows = self._next.rows
        rows.append((seq, body))
        if urgent or (self._is_card and len(rows) >= CARD_ROWS):
            self._want(0.0)
        else:
            self._want(self._begun_s + self._gap_s)

    def add_statements(
        self, *statements: Statement, must_sync: bool = False, then: Callable[[], None] | None = None
    ) -> None:
        """Puts statements into the same commit as the rows added just before or after; begins none by itself.

        `then` is called in the loop when they are committed, before `on_committed`.
        """
        self._next.pieces.append(Piece(statements))
        self._next.must_sync = self._next.must_sync or must_sync
        if then:
            self._next.then.append(then)

    def commit_now(self) -> None:
        """Begins the next commit in this turn of the loop, or as soon as the one under way has ended."""
        self._want(0.0)

    async def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Writes with the next commit, which begins at once; returns when it is done.

        Cancelling the wait does not take the statement back.

        Raises:
            sqlite3.Error: the statement is wrong; nothing else suffers from it.
            JournalDamaged, JournalUnavailable: it was not written, and will not be.
        """
        await self.execute_many([(sql, params)])

    async def execute_many(self, statements: Sequence[Statement]) -> None:
        """As `execute`, for several statements in one transaction, in order: all of them or none."""
        if self._ended_by:
            raise self._ended_by
        done = asyncio.get_running_loop().create_future()
        self._next.pieces.append(Piece(statements, done))
        self._want(0.0)
        await done

    def execute_soon(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Writes with the next commit, whatever causes it, at most `SOON_S` later."""
        self._next.pieces.append(Piece(((sql, params),)))
        self._want(time.monotonic() + self._soon_s)

    def write_soon(self, statement: Callable[[], Statement | None]) -> None:
        """Writes at most `SOON_S` later, or with a commit that is full enough; asks for the statement only then.

        What changes often is written once: a page for each lone change would wear the card twice as fast.
        """
        self._next.late.append(statement)
        self._late_due_s = min(self._late_due_s, time.monotonic() + self._soon_s)
        self._want(self._late_due_s)

    async def flush(self) -> None:
        """Returns when all that was added before is committed.

        Raises:
            JournalDamaged, JournalUnavailable: it was not written, and will not be.
        """
        if self._next or self._under_way:
            self._late_due_s = float("-inf")
            await self.execute_many([])

    # -- reading -----------------------------------------------------------------------------------------------------

    async def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of committed data, read in the reader's own thread.

        Raises:
            JournalDamaged: the file is no database any more (`on_damaged` has been called as well).
            JournalUnavailable: it cannot be read at present, tried for some seconds; or it is closed.
        """
        if self._ended_by:
            raise self._ended_by
        assert self._loop is not None
        try:
            return await self._loop.run_in_executor(self._reads, self._query, sql, tuple(params))
        except sqlite3.Error as error:
            if is_weather(error):
                raise JournalUnavailable(str(self.path), str(error)) from error
            if not is_damage(error):
                raise
            raise self.report_damage(str(error)) from error

    def query_now(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The same in the caller's thread; for the start only, before the writer runs.

        Raises:
            JournalDamaged: the file holds something else than was written.
            OSError: it cannot be read at present.
        """
        try:
            return self._connection.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise failure_of(self.path, error) from error

    async def check(self) -> None:
        """Reads the whole file for damage, in a thread of its own; `on_damaged` is called if there is some.

        Raises:
            JournalDamaged: there is.
            JournalUnavailable: the file cannot be read at present.
        """
        connection = open_for_reading(self.path)
        try:
            found = await asyncio.to_thread(_check, connection)
        except asyncio.CancelledError:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it has just ended by itself
                connection.interrupt()
            raise
        except sqlite3.Error as error:
            if is_weather(error):
                raise JournalUnavailable(str(self.path), str(error)) from error
            found = str(error)
        if found != "ok":
            raise self.report_damage(found.replace("\n", " ")[:200])

    def report_damage(self, what: str) -> JournalDamaged:
        """Somebody has found that the file holds nonsense: `on_damaged` is called; returns the error to raise."""
        damaged = JournalDamaged(str(self.path), what)
        self._report_damage(damaged)
        return damaged

    # -- ending ------------------------------------------------------------------------------------------------------

    async def close(self, *last: Statement) -> None:
        """Commits what is left, then `last`, and closes the file. A damaged file is only closed."""
        if self._loop is not None and self._ended_by is None:
            self.add_statements(*last, must_sync=True)
            with contextlib.suppress(TimeoutError, JournalDamaged):
                async with asyncio.timeout(0 if self.problem else CLOSE_S):
                    await self.flush()
        for handle in (self._soon, self._timer):
            if handle:
                handle.cancel()
        self._writer.give_up()
        await self._writer.stop()
        self._end(JournalUnavailable(str(self.path), "it is closed"))
        await asyncio.to_thread(self._reads.shutdown)
        if self._reader:
            self._reader.close()
        self._writer.close()

    def abandon(self) -> None:
        """Closes a store that was never started."""
        self._reads.shutdown()
        self._writer.close()

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def _want(self, due_s: float) -> None:
        """The next commit begins at `due_s` (monotonic) at the latest, or when the one under way has ended."""
        if due_s < self._due_s:
            self._due_s = due_s
            self._arm()

    def _arm(self) -> None:
        if self._under_way is not None or self._loop is None or self._ended_by or self._due_s == float("inf"):
            return
        left_s = self._due_s - time.monotonic()
        if left_s <= 0:
            # One turn of the loop later even when due: all that is appended in this turn shares the commit.
            self._soon = self._soon or self._loop.call_soon(self._begin)
        elif (
            self._timer is None or self._due_s < self._timer_s
        ):  # an earlier one just looks again: setting it anew each time is dear
            if self._timer:
                self._timer.cancel()
            self._timer, self._timer_s = self._loop.call_later(left_s, self._on_time), self._due_s

    def _on_time(self) -> None:
        self._timer = None
        self._arm()

    def _begin(self) -> None:
        self._soon = None
        if not self._next or self._ended_by:
            self._due_s = float("inf")
            return
        self._begun_s, self._due_s = time.monotonic(), float("inf")
        batch = self._under_way = self._next
        self._next = Batch()
        if batch.late and self._begun_s < self._late_due_s and len(batch.rows) < FULL_ENOUGH_ROWS:
            self._next.late, batch.late = batch.late, []
            self._due_s = self._late_due_s
        else:
            self._late_due_s = float("inf")
            batch.pieces.extend(Piece((statement,)) for make in batch.late if (statement := make()))
        self._writer.write(batch)

    def _ended(self, batch: Batch) -> None:
        self._under_way = None
        self.commits += 1
        try:
            for then in batch.then:
                then()
            self.on_committed(batch.rows[-1][0] if batch.rows else 0)
        finally:  # a listener's mistake must not stop the journal
            if batch.pieces:
                self._tell(batch)
            self._arm()

    @staticmethod
    def _tell(batch: Batch) -> None:
        for piece, error in batch.faults:
            if piece.done is None:
                log.error("journal: %s was not written: %s", piece.statements, error)
            elif not piece.done.done():
                piece.done.set_exception(error)
        for piece in batch.pieces:
            if piece.done and not piece.done.done():
                piece.done.set_result(None)

    def _report_damage(self, damaged: JournalDamaged) -> None:
        if self._ended_by:
            return
        self._writer.give_up()
        self._end(damaged)
        self.on_damaged(damaged)

    def _end(self, error: JournalDamaged | JournalUnavailable) -> None:
        """Nothing will be written any more: whoever waits for it is told."""
        self._ended_by = self._ended_by or error
        lost, self._next = self._next, Batch()
        for batch in (self._under_way, lost):
            for piece in batch.pieces if batch else ():
                if piece.done and not piece.done.done():
                    piece.done.set_exception(self._ended_by)
        if lost.rows:
            log.error("journal: %d changes could not be written before the end", len(lost.rows))

    # -- the reader's thread -----------------------------------------------------------------------------------------

    def _query(self, sql: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        for pause_s in (*_READ_RETRY_S, None):
            try:
                if self._reader is None:
                    self._reader = open_for_reading(self.path)
                return self._reader.execute(sql, params).fetchall()
            except sqlite3.Error as error:
                if not is_weather(error) or pause_s is None or self._ended_by:
                    raise
                time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


def open_store(
    path: Path, *, durability: Durability = "power", commit_gap_s: float = 0.2, flush_s: float = 30.0
) -> Store:
    """Opens the file, or makes it.

    Args:
        path: the database file; its folder exists.
        durability: when a commit counts.
        commit_gap_s: what follows a commit within this time shares the next one.
        flush_s: with `card`, rows are written this often.

    Raises:
        JournalDamaged: it is there, and is no database that we can use.
        OSError: the folder cannot be written.
    """
    return Store(open_database(path, durability), path, durability, commit_gap_s, flush_s)


def _check(connection: sqlite3.Connection) -> str:
    try:
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    finally:
        connection.close()
