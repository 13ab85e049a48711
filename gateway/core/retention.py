"""What the journal keeps: `keep_days` within `max_mb`, and never less than a durable reader still needs, except at the size limit."""

import asyncio
import logging

from gateway.core.change import time_of
from gateway.core.clock import Clock, parse_time
from gateway.core.cursors import Cursors
from gateway.core.journal import Journal
from gateway.core.snapshot import Snapshots
from gateway.core.store import Store

EVERY_S = 900.0
SLICE = 500
"""Rows removed in one commit: small enough that no reader waits for it."""
OVER_LIMIT_SHARE = 0.1
"""Of all rows, removed at a time when the file is too large."""

_DAY_S = 86400.0

log = logging.getLogger(__name__)


class Retention:
    """Removes what is old, now and then."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        cursors: Cursors,
        snapshots: Snapshots,
        clock: Clock,
        *,
        keep_days: float,
        max_mb: float,
    ) -> None:
        self._store, self._journal, self._cursors, self._snapshots, self._clock = (
            store,
            journal,
            cursors,
            snapshots,
            clock,
        )
        self._keep_s, self._max_bytes = keep_days * _DAY_S, max_mb * 1e6

    async def run(self) -> None:
        """Looks every quarter of an hour, for ever. What it has begun to remove when cancelled is removed."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.tidy()

    async def tidy(self) -> int:
        """Removes what may go now; returns the new floor."""
        until = await self._older_than(self._clock.wall_s() - self._keep_s)
        lowest = self._cursors.lowest()
        if lowest is not None:
            until = min(until, lowest)
        await self._forget(until)
        while await self.used_bytes() > self._max_bytes and self._journal.floor < self._journal.head:
            count = max(SLICE, int((self._journal.head - self._journal.floor) * OVER_LIMIT_SHARE))
            until = min(self._journal.floor + count, self._journal.head - 1)
            log.warning("journal: at its size limit of %d MB; the changes up to %d go", self._max_bytes // 1e6, until)
            await self._forget(until)
        return self._journal.floor

    async def used_bytes(self) -> int:
        """Bytes of the file that hold something."""
        answers = [await self._store.query(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")]
        pages, free, size = (int(answer[0][0]) for answer in answers)
        return (pages - free) * size

    async def oldest_time(self) -> str | None:
        """The time of the oldest change kept; None when there is none."""
        rows = await self._store.query("SELECT body FROM changes ORDER BY seq LIMIT 1")
        return time_of(rows[0][0]) if rows else None

    async def _forget(self, until: int) -> None:
        if until > self._snapshots.saved:
            self._snapshots.save()
            await self._store.flush()
        until = min(until, self._snapshots.saved)
        while self._journal.floor <= until:
            self._journal.forget_until(min(until, self._journal.floor + SLICE - 1))
            await self._store.flush()

    async def _older_than(self, wall_s: float) -> int:
        """The last seq whose time is before `wall_s`, by halving: times rise with the seq, but for clocks that were set."""
        low, high = self._journal.floor - 1, self._journal.head
        while low < high:
            middle = (low + high + 1) // 2
            rows = await self._store.query(
                "SELECT seq, body FROM changes WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)
            )
            if rows and rows[0][0] <= self._journal.head and parse_time(time_of(rows[0][1])) < wall_s:
                low = max(middle, min(rows[0][0], high))
            else:
                high = middle - 1
        return low
