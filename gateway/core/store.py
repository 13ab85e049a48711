"""The SQLite file: schema, one writer thread with group commit, a reader thread, set aside when damaged.

The event loop gathers rows and statements into a batch, hands it to the writer thread, and learns when it is committed; whatever was
gathered meanwhile is the next batch. Only one batch is under way at a time, so order is kept by construction.

Durability (https://www.sqlite.org/pragma.html#pragma_synchronous, with WAL): `power` is synchronous=FULL, a commit survives loss of
power; `process` and `card` are NORMAL, a commit survives the process. A batch marked `must_sync` is synced in every mode.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from gateway.core.errors import JournalDamaged

Durability = Literal["power", "process", "card"]
Statement = tuple[str, Sequence[Any]]

SCHEMA_VERSION = 1
SOON_S = 5.0
"""What can wait is committed at most this late."""

CLOSE_S = 3.0
"""A disk that takes nothing is given up at the end after this time."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE cursors (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshots (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""
_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Batch:
    """What one commit writes: journal rows, then statements. `waiters` learn when it is done."""

    rows: list[tuple[int, bytes]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)
    late: list[Callable[[], Statement | None]] = field(default_factory=list)
    must_sync: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows or self.statements or self.waiters or self.then or self.late)


class Store:
    """The journal's file. Make it with `open_store`; use it from one event loop only.

    Args:
        path: the database file; its folder exists.
        durability: when a commit counts.
        commit_gap_s: what follows a commit within this time shares the next one.
        flush_s: with `card`, rows are written this often.
        on_committed: called in the loop after each commit with the highest seq it wrote (0 for none).
        on_damaged: called in the loop, once, when the file turns out to be no database any more.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, durability: Durability, commit_gap_s: float, flush_s: float
    ) -> None:
        self.path = path
        self.durability: Durability = durability
        self.problem = ""
        self.commits = 0
        self.on_committed: Callable[[int], None] = lambda seq: None
        self.on_damaged: Callable[[JournalDamaged], None] = lambda error: None
        self._connection = connection
        self._gap_s = commit_gap_s
        self._flush_s = flush_s
        self._next = Batch()
        self._under_way: Batch | None = None
        self._begun_s = float("-inf")
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._timer_due_s = float("inf")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: SimpleQueue[Batch | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write_batches, name="journal-writer", daemon=True)
        self._reads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-reader")
        self._reader: sqlite3.Connection | None = None
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self._is_closing = threading.Event()
        self._is_damaged = False

    def start(self) -> None:
        """Begins to commit. Call it in the loop that will use the store."""
        self._loop = asyncio.get_running_loop()
        self._writer.start()

    # -- writing -----------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Rows that are not committed yet."""
        return len(self._next.rows) + (len(self._under_way.rows) if self._under_way else 0)

    def add_row(self, seq: int, body: bytes, *, urgent: bool) -> None:
        """Puts a journal row into the next commit; `urgent` begins that at once."""
        self._next.rows.append((seq, body))
        if urgent:
            self._schedule(0.0)
        elif self.durability == "card":
            self._schedule(self._flush_s)
        else:
            self._schedule(self._gap_s)

    def add_statements(
        self, *statements: Statement, must_sync: bool = False, then: Callable[[], None] | None = None
    ) -> None:
        """Puts statements into the same commit as the rows added just before or after; begins none by itself.

        `then` is called in the loop when they are committed, before `on_committed`.
        """
        self._next.statements.extend(statements)
        self._next.must_sync = self._next.must_sync or must_sync
        if then:
            self._next.then.append(then)

    def commit_now(self) -> None:
        """Begins the next commit in this turn of the loop, or as soon as the one under way has ended."""
        self._schedule(0.0)

    async def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Writes with the next commit, which begins at once; returns when it is done.

        Cancelling the wait does not take the statement back.
        """
        await self.execute_many([(sql, params)])

    async def execute_many(self, statements: Sequence[Statement]) -> None:
        """As `execute`, for several statements in one transaction, in order."""
        done = asyncio.get_running_loop().create_future()
        self._next.statements.extend(statements)
        self._next.waiters.append(done)
        self._schedule(0.0)
        await done

    def execute_soon(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Writes with the next commit, whatever causes it, at most `SOON_S` later."""
        self._next.statements.append((sql, params))
        self._schedule(SOON_S, gap=False)

    def write_soon(self, statement: Callable[[], Statement | None]) -> None:
        """As `execute_soon`, but asks for the statement only when that commit begins: what changes often is written once."""
        self._next.late.append(statement)
        self._schedule(SOON_S, gap=False)

    async def flush(self) -> None:
        """Returns when all that was added before is committed."""
        if self._next or self._under_way:
            await self.execute_many([])

    # -- reading -----------------------------------------------------------------------------------------------------

    async def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of committed data, read in the reader's own thread.

        Raises:
            JournalDamaged: the file is no database any more (`on_damaged` has been called as well).
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reads, self._query, sql, tuple(params))
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            raise self.report_damage(str(error)) from error

    def query_now(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The same in the caller's thread; for the start only, before the writer runs."""
        try:
            return self._connection.execute(sql, params).fetchall()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            raise JournalDamaged(str(self.path), str(error)) from error

    async def check(self) -> None:
        """Reads the whole file for damage, in the reader's thread; `on_damaged` is called if there is some.

        Raises:
            JournalDamaged: there is.
        """
        answer = await self.query("PRAGMA quick_check(1)")
        if answer and answer[0][0] != "ok":
            raise self.report_damage(str(answer[0][0]).replace("\n", " ")[:200])

    def report_damage(self, what: str) -> JournalDamaged:
        """Somebody has found that the file holds nonsense: `on_damaged` is called; returns the error to raise."""
        damaged = JournalDamaged(str(self.path), what)
        self._report_damage(damaged)
        return damaged

    # -- ending ------------------------------------------------------------------------------------------------------

    async def close(self, *last: Statement) -> None:
        """Commits what is left, then `last`, and closes the file. A damaged file is only closed."""
        if not self._is_damaged and not self._is_closing.is_set():
            self.add_statements(*last, must_sync=True)
            self._schedule(0.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), CLOSE_S)
        self._is_closing.set()
        if self._timer:
            self._timer.cancel()
        self._jobs.put(None)
        if self._writer.is_alive():
            await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._reads.shutdown)
        for connection in (self._reader, self._connection):
            if connection:
                connection.close()

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def _schedule(self, after_s: float, *, gap: bool = True) -> None:
        """Sees to it that the next commit begins at the latest `after_s` after the last one began (or from now, without gap)."""
        self._idle.clear()
        if self._under_way is not None and after_s == 0.0:
            self._timer_due_s = 0.0  # the end of the one under way begins the next at once
        if self._under_way is not None or self._loop is None:
            return
        now_s = time.monotonic()
        due_s = max(now_s, self._begun_s + after_s) if gap else now_s + after_s
        if after_s == 0.0:
            due_s = now_s
        if due_s >= self._timer_due_s and self._timer is not None:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_due_s = due_s
        # One turn of the loop later even when due: all that is appended in this turn shares the commit.
        self._timer = self._loop.call_soon(self._begin) if due_s <= now_s else self._loop.call_at(due_s, self._begin)

    def _begin(self) -> None:
        self._timer, self._timer_due_s = None, float("inf")
        if self._under_way is not None or not self._next:
            if self._under_way is None:
                self._idle.set()
            return
        self._begun_s = time.monotonic()
        self._under_way, self._next = self._next, Batch()
        self._under_way.statements.extend(filter(None, (statement() for statement in self._under_way.late)))
        self._jobs.put(self._under_way)

    def _ended(self, batch: Batch) -> None:
        wants_now = self._timer_due_s == 0.0
        self._under_way, self._timer_due_s = None, float("inf")
        self.commits += 1
        for then in batch.then:
            then()
        self.on_committed(batch.rows[-1][0] if batch.rows else 0)
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(None)
        if not self._next:
            self._idle.set()
        elif wants_now or self._next.waiters:
            self._schedule(0.0)
        elif self._next.rows:
            self._schedule(self._flush_s if self.durability == "card" else self._gap_s)
        else:
            self._schedule(SOON_S, gap=False)

    def _report_damage(self, damaged: JournalDamaged) -> None:
        if self._is_damaged:
            return
        self._is_damaged = True
        self._is_closing.set()
        self._idle.set()
        self.on_damaged(damaged)

    # -- the threads' side -------------------------------------------------------------------------------------------

    def _write_batches(self) -> None:
        assert self._loop is not None
        while (batch := self._jobs.get()) is not None:
            try:
                is_committed = self._commit_until_done(batch)
            except JournalDamaged as error:
                self._loop.call_soon_threadsafe(self._report_damage, error)
                return
            if is_committed:
                self._loop.call_soon_threadsafe(self._ended, batch)

    def _commit_until_done(self, batch: Batch) -> bool:
        """Tries until the batch is committed; a full disk is waited out, until the end if need be (False).

        Raises:
            JournalDamaged: the file is no database any more.
        """
        attempt = 0
        while True:
            try:
                self._commit(batch)
            except sqlite3.DatabaseError as error:
                if _is_damage(error):
                    raise JournalDamaged(str(self.path), str(error)) from error
                if not isinstance(error, sqlite3.OperationalError):
                    raise
                self._say_problem(str(error))
                if self._is_closing.wait(_RETRY_S[min(attempt, len(_RETRY_S) - 1)]):
                    log.error("journal: %d changes could not be written before the end: %s", len(batch.rows), error)
                    return False
                attempt += 1
            else:
                if self.problem:
                    log.info("journal: %s is writable again", self.path)
                    self.problem = ""
                return True

    def _say_problem(self, what: str) -> None:
        if not self.problem:
            log.error(
                "journal: %s cannot be written: %s; free some space on that disk, nothing is lost meanwhile",
                self.path,
                what,
            )
        self.problem = what

    def _commit(self, batch: Batch) -> None:
        connection = self._connection
        must_sync = batch.must_sync and self.durability != "power"
        if must_sync:
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if batch.rows:
                connection.executemany("INSERT INTO changes (seq, body) VALUES (?, ?)", batch.rows)
            for sql, params in batch.statements:
                connection.execute(sql, params)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            if must_sync:
                connection.execute("PRAGMA synchronous=NORMAL")

    def _query(self, sql: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._reader is None:
            self._reader = sqlite3.connect(
                f"file:{self.path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None, timeout=10
            )
        return self._reader.execute(sql, params).fetchall()


def open_store(
    path: Path, *, durability: Durability = "power", commit_gap_s: float = 0.2, flush_s: float = 30.0
) -> Store:
    """Opens the file, or makes it.

    Raises:
        JournalDamaged: it is there, and is no database that we can use.
        OSError: the folder cannot be written.
    """
    is_new = not path.exists() or path.stat().st_size == 0
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}")
        connection.execute("PRAGMA cache_size=-1024")
        if is_new:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            path.chmod(0o600)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            raise JournalDamaged(str(path), f"its schema is version {version}, this release reads {SCHEMA_VERSION}")
        connection.execute("SELECT max(seq) FROM changes").fetchone()
    except sqlite3.DatabaseError as error:
        if connection:
            connection.close()
        if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
            raise OSError(f"{path}: {error}") from error
        raise JournalDamaged(str(path), str(error)) from error
    except JournalDamaged:
        if connection:
            connection.close()
        raise
    return Store(connection, path, durability, commit_gap_s, flush_s)


def set_aside(path: Path, now: str) -> Path:
    """Renames a damaged file, with what SQLite keeps beside it, to a dated name; returns that name.

    `now` is a time as in `2026-11-23T16:00:00.120Z`; nothing is ever overwritten.
    """
    stamp = now[:19].replace(":", "").replace("-", "")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.stem}.damaged-{stamp}-{number}{path.suffix}")
    for ending in ("-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + ending))
    path.rename(aside)
    return aside


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in _DAMAGE
    return "malformed" in str(error) or "not a database" in str(error)
