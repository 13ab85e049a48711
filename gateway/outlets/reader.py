"""The loop that every durable outlet uses: read after a cursor, deliver, move the cursor, wait."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from gateway.core.change import EVERYTHING, Entry, Filter
from gateway.core.errors import CursorGone, JournalUnavailable
from gateway.core.journal import Journal

AGAIN_S = 5.0
"""A file that could not be read for some seconds is tried again after this time."""

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Entries that passed the filter, oldest first, and the seq up to which everything has been read, filtered rows included."""

    entries: list[Entry]
    after: int


class Reader:
    """Reads the journal in order after a cursor. It holds no data: a slow reader costs nobody anything.

    Args:
        after: the seq after which to begin.
        filter: what the outlet wants; a `journal.gap` always comes.
    """

    def __init__(self, journal: Journal, *, after: int, filter: Filter = EVERYTHING) -> None:
        self._journal = journal
        self.after = after
        self.filter = filter
        self.on_skipped: Callable[[int], None] = lambda seq: None
        """Called while waiting: everything up to `seq` was read, and what came since the last batch did not pass the filter."""

    def moved(self) -> asyncio.Event:
        """What to wait on when there is nothing; take it before looking."""
        return self._journal.moved(self.filter)

    async def next(self, limit: int) -> Batch:
        """Waits for something that passes the filter; at most `limit` entries.

        Where the floor has passed the cursor, a `journal.gap` comes by itself, with the first and last seq lost. Cancelling loses nothing.

        Raises:
            JournalDamaged: the file holds something else than was written.
        """
        while True:
            moved = self.moved()  # taken before reading, so no wake is missed
            try:
                batch = await self.peek(limit)
            except JournalUnavailable as error:
                log.warning("a reader waits at %d: %s", self.after, error)
                await asyncio.sleep(AGAIN_S)
                continue
            if batch.entries:
                return batch
            if batch.after == self._journal.head:
                self.on_skipped(batch.after)
                await moved.wait()

    async def peek(self, limit: int) -> Batch:
        """What is there now, without waiting; possibly nothing.

        Raises:
            JournalDamaged: as for `next`.
            JournalUnavailable: the file cannot be read at present.
        """
        try:
            found = await self._journal.read(self.after, limit)
        except CursorGone:
            gap = self._journal.gap(self.after)
            self.after = gap.seq
            return Batch([gap], gap.seq)
        if found:
            self.after = found[-1].seq
        return Batch([entry for entry in found if self.filter.passes(entry)], self.after)
