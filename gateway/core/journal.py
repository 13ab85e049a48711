"""The journal: append, the ring near the head, read after a cursor, head and floor, wake the waiting.

Seqs are reserved in blocks, so that none is used for two changes even where the newest rows were lost: after an unclean end the
journal goes on behind the block, and its first row is a `journal.gap`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from msgspec import UNSET

from gateway.core.bells import Bells
from gateway.core.change import (
    CLOCK_SET,
    EVERYTHING,
    JOURNAL_GAP,
    TYPES,
    Change,
    Entry,
    Filter,
    encode,
    entry_from,
    entry_of,
)
from gateway.core.clock import Clock, format_time
from gateway.core.errors import CursorGone, CursorMalformed, JournalError
from gateway.core.ring import Ring
from gateway.core.standing import ClockSet, recall
from gateway.core.store import Store

BLOCK = 4000
"""Seqs reserved at a time."""

FULL_ROWS = 10_000
"""More uncommitted rows than this, and sources are asked to wait."""

_SET_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"

_REMOVED = "these changes were removed at the size limit before this reader had them"
_AHEAD = "this reader's place is beyond the end of the journal: it belongs to one that was lost"

log = logging.getLogger(__name__)

Listener = Callable[[Change, Entry], None]


class Journal:
    """One durable sequence of changes, and its readers' way into it.

    `epoch` names this journal for ever; `head` is the newest seq that readers may see (0: none yet), `floor` the oldest kept;
    `clock_sets` tells where the clock was set.
    Everything here is called in the event loop.

    Args:
        store: the open file; the journal starts it.
        clock: for the time of each change.
        lost: why there is no older journal although there was one (`""`: this is simply the first).
    """

    def __init__(self, store: Store, clock: Clock, *, lost: str = "") -> None:
        self._store = store
        self._clock = clock
        self._listeners: list[tuple[Listener, Collection[str]]] = []
        self._listeners_of: dict[str, list[Listener]] = {}
        self._moved: asyncio.Event | None = None
        self._bells = Bells()
        self._waiting: deque[tuple[Change, Entry]] = deque()
        self._is_publishing = False
        self._ring = Ring()
        self._lost = lost
        self._standing = standing = recall(store, clock)
        self.epoch, self.is_new, self.was_clean = standing.epoch, standing.is_new, standing.was_clean
        self.floor, self.head, self.clock_sets = standing.floor, standing.last, standing.clock_sets
        self._last = self._committed = standing.last
        self._reserved = self._durably_reserved = standing.reserved
        clock.not_before(standing.older_s)

    def start(self) -> None:
        """Reserves a block, tells of a gap where the last end was not clean, and begins to commit."""
        self._store.on_committed = self._on_committed
        self._store.start()
        told = {"epoch": self.epoch, "boot": self._clock.boot, "older_s": repr(self._standing.older_s), "clean": "0"}
        for pair in told.items():
            self._store.add_statements((_SET_META, pair))
        lost_from, lost_to = self._last + 1, self._reserved
        self._last = lost_to
        self._reserve()
        if self.is_new and self._lost:
            self._append_gap(0, 0, self._lost)
        elif not self.is_new and not self.was_clean:
            seen = (
                "no change that a reader saw is"
                if self._store.durability == "power"
                else "changes of its last moments may be"
            )
            self._append_gap(lost_from, lost_to, f"the last end was not clean; {seen} missing")
        self._store.commit_now()

    # -- writing -----------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether sources should wait for `room` before they bring more."""
        return self._store.pending > FULL_ROWS

    async def room(self) -> None:
        """Returns when the journal can take more."""
        while self.is_full:
            moved = self.moved()
            if self._store.durability == "card":
                await self._flush()
            else:
                await moved.wait()

    def append(
        self,
        type: str,
        *,
        thing: str | None = None,
        name: str | None = None,
        value: Any = UNSET,
        unit: str | None = None,
        quality: str | None = None,
        reason: str | None = None,
        cause: str | None = None,
        command: str | None = None,
        time_s: float | None = None,
        mono_s: float | None = None,
        urgent: bool = False,
    ) -> Change:
        """Adds a change; readers see it after its commit (with `card`: at once).

        Args:
            time_s: when it happened, in seconds since 1970; now by default.
            mono_s: the monotonic time of it, where the driver knows better than now.
            urgent: commit at once (commands).
        """
        step_s = self._clock.take_step()
        if step_s is not None:
            self._say_clock_set(step_s)
        change = Change(
            self._last + 1, "", type, "", thing or UNSET, name or UNSET, value, unit or UNSET, quality or UNSET, reason or UNSET,
            cause or UNSET, command or UNSET,
        )  # fmt: skip
        self._append(change, time_s=time_s, mono_s=mono_s, urgent=urgent)
        return change

    def with_next_commit(self, sql: str, params: tuple[Any, ...]) -> None:
        """A statement in the same commit as the change appended just before or after."""
        self._store.add_statements((sql, params))

    async def committed(self, seq: int) -> None:
        """Returns when readers may see `seq`."""
        while self.head < seq:
            await self.moved().wait()

    async def written(self, seq: int) -> None:
        """Returns when `seq` is in the file. That is the same as `committed`, except with `card`, where readers see more than that."""
        await self.committed(seq)
        if self._committed < seq:
            await self._flush()

    def on_change(self, listener: Listener, types: Collection[str] = TYPES) -> None:
        """Calls `listener` with each change of these types that becomes visible, in order of seq, before any reader wakes.

        It must not raise. Those who have asked first are called first.
        """
        self._listeners.append((listener, types))
        self._listeners_of.clear()

    # -- reading -----------------------------------------------------------------------------------------------------

    def moved(self, filter: Filter = EVERYTHING) -> asyncio.Event:
        """The event that is set when the head moves next. Take it before reading, wait on it after finding nothing.

        With a filter, it is set when a change comes that passes; after others, `bells.PATIENCE_S` later at the latest: readers that want
        little are not woken at every change, and their cursors move nevertheless.
        """
        if not filter.is_open:
            return self._bells.event(filter)
        if self._moved is None:
            self._moved = asyncio.Event()
        return self._moved

    def recent(self, after: int, limit: int) -> list[Entry] | None:
        """Changes after `after` from memory, oldest first, at most `limit`; None when they have to be read from disk.

        Raises:
            CursorGone: as for `read`.
        """
        self._check(after)
        return [] if after >= self.head else self._ring.after(after, limit)

    async def read(self, after: int, limit: int) -> list[Entry]:
        """Changes after `after`, oldest first, at most `limit`; empty at the head.

        Raises:
            CursorGone: some of what it asks for is below the floor, or `after` is beyond the head.
            JournalDamaged: the file holds something else than was written.
            JournalUnavailable: the file cannot be read at present.
        """
        found = self.recent(after, limit)
        if found is not None:
            return found
        rows = await self._store.query(
            "SELECT body FROM changes WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", (after, self.head, limit)
        )
        self._check(after)  # the floor may have passed meanwhile
        entries = self._entries(rows)
        self._check_whole(after, entries)
        return entries

    async def read_back(self, before: int, limit: int) -> list[Entry]:
        """Changes before `before`, newest first, at most `limit`; for history."""
        rows = await self._store.query(
            "SELECT body FROM changes WHERE seq < ? AND seq >= ? AND seq <= ? ORDER BY seq DESC LIMIT ?",
            (before, self.floor, self.head, limit),
        )
        return self._entries(rows)

    def _entries(self, rows: list[tuple[Any, ...]]) -> list[Entry]:
        try:
            return [entry_from(body) for (body,) in rows]
        except (msgspec.MsgspecError, TypeError) as error:
            raise self._store.report_damage(f"a change in it cannot be read: {error}") from error

    def _check_whole(self, after: int, entries: list[Entry]) -> None:
        """There are holes only as a `journal.gap`: anything else would be a silent loss."""
        before = after
        for entry in entries:
            if entry.seq != before + 1 and entry.type != JOURNAL_GAP:
                raise self._store.report_damage(f"changes after {before} are missing")
            before = entry.seq
        if not entries:
            raise self._store.report_damage(f"changes after {before} are missing")

    def gap(self, after: int) -> Entry:
        """What a durable reader is told whose cursor the floor has passed: a `journal.gap` that stands in no row.

        Its seq is the last one lost, so that the cursor after it is where reading goes on. A cursor beyond the head is from a journal
        that is lost: how much that was nobody knows (0 to 0), and reading goes on with the oldest kept.
        """
        last = self.floor - 1
        is_ahead = after > self.head
        change = Change(
            seq=last,
            id=self.cursor(last),
            type=JOURNAL_GAP,
            time=format_time(self._clock.wall_s()),
            reason=_AHEAD if is_ahead else _REMOVED,
            first=0 if is_ahead else after + 1,
            last=0 if is_ahead else last,
        )
        return entry_of(change, encode(change))

    def cursor(self, seq: int | None = None) -> str:
        """The cursor after `seq` (the head by default)."""
        return f"{self.epoch}-{self.head if seq is None else seq}"

    def seq_of(self, cursor: str) -> int:
        """The seq after which a cursor reads: `epoch-seq`, `oldest` or `now`.

        Raises:
            CursorMalformed: it is no cursor at all.
            CursorGone: it is another journal's, or speaks of what is gone or not there yet.
        """
        if cursor == "now":
            return self.head
        if cursor == "oldest":
            return self.floor - 1
        epoch, dash, digits = cursor.rpartition("-")
        if not (dash and epoch and digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise CursorMalformed(cursor)
        seq = int(digits)
        if epoch != self.epoch:
            raise CursorGone(cursor, self.cursor(), self.cursor(self.floor - 1))
        self._check(seq)
        return seq

    # -- keeping -----------------------------------------------------------------------------------------------------

    def forget_until(self, seq: int) -> None:
        """Raises the floor: rows up to `seq` go with the next commit. The caller keeps it small enough to be quick."""
        if seq < self.floor:
            return
        seq = min(seq, self.head)
        self.floor = seq + 1
        self._store.execute_soon("DELETE FROM changes WHERE seq <= ?", (seq,))
        if self.clock_sets and self.clock_sets[0].seq <= seq:
            self.clock_sets = [one for one in self.clock_sets if one.seq > seq]
            self._store.execute_soon("DELETE FROM clock_sets WHERE seq <= ?", (seq,))
        self._store.execute_soon(_SET_META, ("floor", str(seq + 1)))

    async def close(self) -> None:
        """Commits what is left and ends cleanly."""
        await self._store.close(
            (_SET_META, ("reserved", str(self._last))),
            (_SET_META, ("clean", "1")),
        )

    # -- private -----------------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        try:
            await self._store.flush()
        except JournalError:
            await asyncio.Event().wait()  # the journal's owner has heard of it, and ends all that waits here

    def _append(
        self, change: Change, *, time_s: float | None = None, mono_s: float | None = None, urgent: bool
    ) -> None:
        """Puts the next change, which lacks but its id and its times, into the next commit."""
        clock = self._clock
        now_mono_s = clock.mono_s()
        if time_s is None:
            time_s = clock.wall_s() - (now_mono_s - mono_s if mono_s is not None else 0.0)
        if clock.condition != "set":
            change.boot = clock.boot
            change.mono_ms = int((mono_s if mono_s is not None else now_mono_s) * 1000)
        seq = change.seq
        change.id, change.time = f"{self.epoch}-{seq}", format_time(time_s)
        entry = entry_of(change, encode(change))
        self._last = seq  # only now: what cannot be encoded must leave no hole
        if seq + BLOCK // 2 >= self._reserved:
            self._reserve()
            urgent = urgent or self._store.durability == "card"
        self._waiting.append((change, entry))
        self._store.add_row(seq, entry.body, urgent=urgent)
        if self._store.durability == "card" and len(self._waiting) == 1:
            # In a later turn, so that no listener is called from within an append; all of this turn's changes go together.
            asyncio.get_running_loop().call_soon(self._publish)

    def _append_gap(self, first: int, last: int, reason: str) -> None:
        log.warning("journal: goes on at %d; %s", self._last + 1, reason)
        gap = Change(self._last + 1, "", JOURNAL_GAP, "", first=first, last=last, reason=reason)
        self._append(gap, urgent=True)

    def _reserve(self) -> None:
        """Takes the next block, durably before any of its seqs is seen."""
        self._reserved = reserved = self._last + BLOCK
        self._store.add_statements(
            (_SET_META, ("reserved", str(reserved))), must_sync=True, then=lambda: self._has_reserved(reserved)
        )

    def _has_reserved(self, reserved: int) -> None:
        self._durably_reserved = reserved

    def _say_clock_set(self, step_s: float) -> None:
        clock = self._clock
        offset_ms, condition = round(step_s * 1000), clock.condition
        log.info("clock: it was set by %+.3f s and is %s now", step_s, condition)
        # Whatever the clock is from now on: the boot tells which rows it was wrong for.
        change = Change(
            self._last + 1,
            "",
            CLOCK_SET,
            "",
            offset_ms=offset_ms,
            reason=condition,
            boot=clock.boot,
            mono_ms=int(clock.mono_s() * 1000),
        )
        self._append(change, urgent=False)
        self.clock_sets.append(ClockSet(change.seq, clock.boot, offset_ms, condition))
        self._store.add_statements(("INSERT INTO clock_sets VALUES (?, ?, ?, ?)", self.clock_sets[-1]))

    def _on_committed(self, seq: int) -> None:
        self._committed = max(self._committed, seq)
        self._publish()

    def _publish(self) -> None:
        """Makes what waits visible: what is committed, or with `card` what no later change can have the seq of."""
        if self._is_publishing:
            return  # a listener has appended: the outer call goes on with it
        self._is_publishing = True
        before, waiting = self.head, self._waiting
        try:
            while waiting and waiting[0][0].seq <= self._may_be_seen:
                change, entry = waiting.popleft()
                self._ring.append(entry)
                self.head = entry.seq
                self._bells.ring_for(entry)
                for listener in self._listeners_of.get(entry.type) or self._listeners_to(entry.type):
                    listener(change, entry)
        finally:
            self._is_publishing = False
            self._ring.trim(self._committed)
            if self.head != before and self._moved is not None:
                moved, self._moved = self._moved, None
                moved.set()

    def _listeners_to(self, type: str) -> list[Listener]:
        listeners = self._listeners_of[type] = [one for one, types in self._listeners if type in types]
        return listeners

    @property
    def _may_be_seen(self) -> int:
        return self._durably_reserved if self._store.durability == "card" else self._committed

    def _check(self, after: int) -> None:
        if after < self.floor - 1 or after > self.head:
            raise CursorGone(self.cursor(after), self.cursor(), self.cursor(self.floor - 1))
