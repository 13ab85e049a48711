"""What the journal keeps: `keep_days` within `max_mb`, and never less than a durable reader still needs, except at the size limit."""

import asyncio
import contextlib
import logging

from gateway.core.change import Change, Entry
from gateway.core.clock import BUILT_S, Clock, format_time
from gateway.core.cursors import Cursors
from gateway.core.errors import JournalDamaged, JournalUnavailable
from gateway.core.history import true_time
from gateway.core.journal import Journal
from gateway.core.snapshot import Snapshots
from gateway.core.store import Store

EVERY_S = 900.0
CHECK_EVERY_S = 86400.0
"""The whole file is read for damage this often: noise in what nobody reads would else be found when it is needed."""
SLICE = 500
"""Rows removed in one commit: small enough that no reader waits for it."""
OVER_LIMIT_SHARE = 0.1
"""Of all rows, removed at a time when the file is too large."""
LOOK_SHARE = 0.05
"""Of the size limit: after so many bytes more it looks again at once."""

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
        self._store, self._journal, self._cursors = store, journal, cursors
        self._snapshots, self._clock = snapshots, clock
        self.kept_since: str | None = None
        """Time of the oldest change kept, as of the last look."""
        self._keep_s, self._max_bytes = keep_days * _DAY_S, max_mb * 1e6
        self._new_bytes = 0
        self._has_much: asyncio.Event = asyncio.Event()

    async def run(self) -> None:
        """Looks every quarter of an hour, and whenever much has come, for ever; or until the file turns out damaged.

        What it has begun to remove when cancelled is removed.
        """
        self._journal.on_change(self._count)
        checked_s = self._clock.mono_s()
        with contextlib.suppress(JournalDamaged):  # its owner has heard of it
            self.kept_since = await self.oldest_time()
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY_S):
                        await self._has_much.wait()
                self._has_much.clear()
                try:
                    await self.tidy()
                    if self._clock.mono_s() - checked_s >= CHECK_EVERY_S:
                        checked_s = self._clock.mono_s()
                        await self._store.check()
                except JournalUnavailable as error:
                    log.warning("journal: not tidied this time: %s", error)

    async def tidy(self) -> int:
        """Removes what may go now; returns the new floor.

        Raises:
            JournalDamaged, JournalUnavailable: the file cannot be read or written.
        """
        self._new_bytes = 0
        if self._clock.condition != "wrong":  # else nobody knows what is old
            until = await self._older_than(self._clock.wall_s() - self._keep_s)
            lowest = self._cursors.lowest()
            await self._forget(until if lowest is None else min(until, lowest))
        while await self.used_bytes() > self._max_bytes and self._journal.floor < self._journal.head:
            count = max(SLICE, int((self._journal.head - self._journal.floor) * OVER_LIMIT_SHARE))
            until = min(self._journal.floor + count, self._journal.head - 1)
            log.warning("journal: at its size limit of %d MB; the changes up to %d go", self._max_bytes // 1e6, until)
            await self._forget(until)
        self.kept_since = await self.oldest_time()
        return self._journal.floor

    async def used_bytes(self) -> int:
        """Bytes of the file that hold something."""
        answers = [await self._store.query(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")]
        pages, free, size = (int(answer[0][0]) for answer in answers)
        return (pages - free) * size

    async def oldest_time(self) -> str | None:
        """The time of the oldest change kept; None when there is none."""
        rows = await self._store.query("SELECT body FROM changes ORDER BY seq LIMIT 1")
        return format_time(true_time(rows[0][0], self._journal.clock_sets)) if rows else None

    async def _older_than(self, wall_s: float) -> int:
        """The last seq before the first change that is not older than `wall_s`.

        From the oldest on, and not by halving: times do not rise with the seq where a clock was wrong, and what stands between newer
        changes is not old because its clock says so.
        """
        old = until = self._journal.floor - 1
        while entries := await self._journal.read(until, SLICE):
            for entry in entries:
                time_s = true_time(entry.body, self._journal.clock_sets)
                if time_s >= wall_s:
                    return old
                if time_s >= BUILT_S:  # else its clock was never set: as old as what comes after it
                    old = entry.seq
            until = entries[-1].seq
            await asyncio.sleep(0)
        return old

    async def _forget(self, until: int) -> None:
        if until < self._journal.floor:
            return
        if until > self._snapshots.saved:
            self._snapshots.save()
            await self._store.flush()
        until = min(until, self._snapshots.saved)
        while self._journal.floor <= until:
            self._journal.forget_until(min(until, self._journal.floor + SLICE - 1))
            await self._store.flush()

    def _count(self, change: Change, entry: Entry) -> None:
        self._new_bytes += len(entry.body)
        if self._new_bytes > self._max_bytes * LOOK_SHARE:
            self._has_much.set()
