"""The one thread that writes the journal's file: a batch, one transaction; a full disk is waited out.

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
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gateway.core.dbfile import Durability, Sight, is_damage, is_weather
from gateway.core.errors import JournalDamaged

Statement = tuple[str, Sequence[Any]]

_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_LOOK_EVERY_S = 5.0
_INSERT = "INSERT INTO changes (seq, body) VALUES (?, ?)"
"""A seq that is there already means that the file is not what it was: IntegrityError ends as damage."""

_FAULTS = (sqlite3.Error, OverflowError, ValueError, TypeError)
"""What a wrong statement, or a wrong value for it, raises."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Piece:
    """Statements of one caller: what fails of them fails together, and nothing else with them. `done` learns of it."""

    statements: Sequence[Statement]
    done: asyncio.Future[None] | None = None


@dataclass(slots=True)
class Batch:
    """What one commit writes: journal rows, then pieces; those of `late` are made when the commit begins."""

    rows: list[tuple[int, bytes]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    late: list[Callable[[], Statement | None]] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)
    must_sync: bool = False
    faults: list[tuple[Piece, Exception]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.pieces or self.late or self.then)


class Writer:
    """Writes batches in order, in its own thread, and tells the loop of each.

    Args:
        on_done: called in the loop when a batch is committed; `faults` of it holds the pieces that could not be.
        on_damaged: called in the loop when the file is no database any more; nothing is written from then on.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        durability: Durability,
        on_done: Callable[[Batch], None],
        on_damaged: Callable[[JournalDamaged], None],
    ) -> None:
        self.problem = ""
        self._connection, self._path = connection, path
        self._syncs_always = durability == "power"
        self._on_done, self._on_damaged = on_done, on_damaged
        self._sight = Sight(path)
        self._looked_s = float("-inf")
        self._jobs: SimpleQueue[Batch | None] = SimpleQueue()
        self._has_given_up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to write; `loop` is told."""
        self._loop = loop
        self._thread.start()

    def write(self, batch: Batch) -> None:
        """Hands over the next batch."""
        self._jobs.put(batch)

    def give_up(self) -> None:
        """What cannot be written now never will be."""
        self._has_given_up.set()

    async def stop(self) -> None:
        """Ends the thread and returns when it has ended. Call `give_up` first, if a full disk must not hold it."""
        self._jobs.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def close(self) -> None:
        """Closes the file; after every other connection to it."""
        self._connection.close()
        self._sight.close()

    def _run(self) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # a loop that was closed without closing us: there is nobody to tell
            while (batch := self._jobs.get()) is not None:
                try:
                    is_committed = self._commit_until_done(batch)
                except JournalDamaged as error:
                    self._loop.call_soon_threadsafe(self._on_damaged, error)
                    return
                if is_committed:
                    self._loop.call_soon_threadsafe(self._on_done, batch)

    def _commit_until_done(self, batch: Batch) -> bool:
        """Tries until the batch is committed, or given up (False).

        Raises:
            JournalDamaged: the file is no database any more.
        """
        attempt = 0
        while True:
            try:
                self._look()
                self._commit(batch)
            except sqlite3.Error as error:
                if not is_weather(error):
                    raise JournalDamaged(str(self._path), str(error)) from error
                self._say_problem(str(error))
                if self._has_given_up.wait(_RETRY_S[min(attempt, len(_RETRY_S) - 1)]):
                    log.error("journal: %d changes could not be written before the end: %s", len(batch.rows), error)
                    return False
                attempt += 1
            else:
                if self.problem:
                    log.info("journal: %s is writable again", self._path)
                    self.problem = ""
                return True

    def _look(self) -> None:
        """SQLite keeps pages in memory: for hours it need not notice that the file below it has turned to noise."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            if what := self._sight.look():
                raise JournalDamaged(str(self._path), what)

    def _say_problem(self, what: str) -> None:
        if not self.problem:
            log.error(
                "journal: %s cannot be written: %s; free some space on that disk, nothing is lost meanwhile",
                self._path,
                what,
            )
        self.problem = what

    def _commit(self, batch: Batch) -> None:
        try:
            self._transact(batch, self._run_piece)
        except _FAULTS as error:
            if is_damage(error) or is_weather(error):
                raise
            batch.faults.clear()
            self._transact(batch, lambda piece: self._run_carefully(piece, batch))

    def _transact(self, batch: Batch, run: Callable[[Piece], None]) -> None:
        connection = self._connection
        must_sync = batch.must_sync and not self._syncs_always
        if len(batch.rows) == 1 and not (batch.pieces or must_sync):  # a transaction by itself, in a third of the calls
            connection.execute(_INSERT, batch.rows[0])
            return
        if must_sync:
            connection.execute("PRAGMA synchronous=FULL")
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, batch.rows)
            for piece in batch.pieces:
                run(piece)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            if must_sync:
                connection.execute("PRAGMA synchronous=NORMAL")

    def _run_piece(self, piece: Piece) -> None:
        for sql, params in piece.statements:
            self._connection.execute(sql, params)

    def _run_carefully(self, piece: Piece, batch: Batch) -> None:
        """A piece that is wrong takes only itself back."""
        self._connection.execute("SAVEPOINT piece")
        try:
            self._run_piece(piece)
        except _FAULTS as error:
            if is_damage(error) or is_weather(error):
                raise
            self._connection.execute("ROLLBACK TO piece")
            batch.faults.append((piece, error))
        self._connection.execute("RELEASE piece")
