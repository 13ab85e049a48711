"""Sieves: which of those who wait want something of what has come.

A crowd with costly filters must not hold up anybody else. So each who waits is asked at most once about each kind of change (its type,
thing and name): what it does not want it is not asked about again, and a change of a kind that all have been asked about costs nothing,
however many wait; nor about what was there when it came, so that who comes back at once does not hold a sieve up for whoever waits
behind it. Who has simple filters is asked before who has many globs, streams come last, and each sieve rests after few.
"""

import asyncio
import weakref
from bisect import bisect_right
from typing import Final

from gateway.core.change import Entry, Filter, Wanted
from gateway.core.errors import CursorGone
from gateway.core.journal import Journal
from gateway.outlets.http.pace import TURN, Pace

_FEW: Final = 8
"""A filter with so many globs is a simple one."""

_CHUNK: Final = 100
_MOST_KINDS: Final = 4096

_ASKING: Final = 1
"""The effort of a glob (see `pace.TURN`)."""

_RINGING: Final = 128
"""The effort of a ring, with what it sets in motion in the next turn."""

_STREAMING: Final = TURN
"""The same where a stream is woken: one in a turn, for streams come back at once, and a crowd of them would make every turn a long one."""

_COURTESY: Final = 3
"""So many turns streams wait, in which those are answered whom one answer is enough."""


class Bell(asyncio.Event):
    """Set once a change comes after `made` that passes the filter. A sieve keeps it for as long as somebody else does."""

    def __init__(self, sieve: "Sieve", wanted: Wanted, made: int) -> None:
        super().__init__()
        self.wanted, self.made = wanted, made
        self.effort = _ASKING * _globs(wanted.filter)
        self._sieve = sieve
        self._silent_until: int | None = None

    def skip(self, after: int, taken: int) -> int:
        """The seq behind which to look next, for who took this bell when the head was `taken` and has done with everything up to `after`.

        Of what came after it was taken the bell has been silent about nothing that passes; of what came before it knows nothing.
        """
        if after < taken:
            return after
        return max(after, self._sieve.after if self._silent_until is None else self._silent_until)

    def ring(self) -> None:
        """Sets it."""
        self._silent_until = self._sieve.after
        self.set()


class Sieve:
    """Goes through what comes, for those whose bells it keeps; `after` is how far it is.

    Args:
        ringing: the effort of a ring.
        courtesy: turns of the loop to leave to others before each round.
    """

    def __init__(self, journal: Journal, ringing: int = _RINGING, courtesy: int = 0) -> None:
        self.after = journal.head
        self._journal, self._ringing, self._courtesy = journal, ringing, courtesy
        self._waiting: dict[int, weakref.ref[Bell]] = {}  # numbered in order
        self._newest = 0
        self._asked: dict[tuple[str, str, str], int] = {}  # kinds, and the newest number that was asked about each
        self._is_wanted = asyncio.Event()
        self._pace = Pace()

    def bell(self, wanted: Wanted) -> Bell:
        """A bell of its own for somebody who waits. Taken before looking, as any."""
        if not self._waiting:
            self.after = self._journal.head
            self._is_wanted.set()
        bell = Bell(self, wanted, self._journal.head)
        self._newest = number = self._newest + 1
        waiting = self._waiting
        waiting[number] = weakref.ref(bell, lambda _: waiting.pop(number, None))
        return bell

    async def run(self) -> None:
        """Rings bells until cancelled; at rest while nobody waits."""
        while True:
            if not self._waiting:
                self._is_wanted.clear()
                await self._is_wanted.wait()
            moved = self._journal.moved()
            if self.after == self._journal.head:
                await moved.wait()
                for _ in range(self._courtesy):
                    await asyncio.sleep(0)
            await self._go_through()

    async def _go_through(self) -> None:
        entries = self._recent()
        if entries is None:  # it fell too far behind: all look for themselves
            until = self._journal.head
            for number in list(self._waiting):
                await self._ask(number, None)
            self.after = until
            return
        for entry in entries:
            await self._sift(entry)
            self.after = entry.seq

    def _recent(self) -> list[Entry] | None:
        try:
            return self._journal.recent(self.after, _CHUNK)
        except CursorGone:
            return None

    async def _sift(self, entry: Entry) -> None:
        kind = entry.kind
        asked = self._asked.pop(kind, 0)
        numbers = list(self._waiting)
        for number in numbers[bisect_right(numbers, asked) :]:
            if not await self._ask(number, entry):
                break
            asked = number
        self._asked[kind] = asked
        if len(self._asked) > _MOST_KINDS:
            del self._asked[next(iter(self._asked))]  # the one not seen for the longest time

    async def _ask(self, number: int, entry: Entry | None) -> bool:
        """Rings for who wants the entry (None: for anybody), and rests when it has been long enough.

        False for who came when the entry was there: neither it nor anybody after it is to be asked.
        """
        bell = self._waiting.get(number, _nobody)()
        if bell is None:
            return True
        if entry is not None and bell.made >= entry.seq:
            return False
        effort = bell.effort
        if entry is None or bell.wanted.passes(entry):
            del self._waiting[number]
            bell.ring()
            effort += self._ringing
        del bell  # whoever goes while this rests is not kept
        if self._pace.spend(effort):
            await asyncio.sleep(0)
        return True


class Sieves:
    """The sieves of an outlet, by who has to wait for whom."""

    def __init__(self, journal: Journal) -> None:
        self._simple, self._others = Sieve(journal), Sieve(journal)
        self._streams = Sieve(journal, _STREAMING, _COURTESY)
        self._shared: weakref.WeakValueDictionary[Filter, Bell] = weakref.WeakValueDictionary()

    def bell(self, filter: Filter) -> Bell:
        """For whoever waits for one answer: all with the same filter share a bell."""
        bell = self._shared.get(filter)
        if bell is None or bell.is_set():
            sieve = self._simple if _globs(filter) <= _FEW else self._others
            bell = self._shared[filter] = sieve.bell(Wanted(filter))
        return bell

    def stream_bell(self, wanted: Wanted) -> Bell:
        """For a stream: a bell of its own, so that streams are woken few at a time."""
        return self._streams.bell(wanted)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, sieve in (("simple", self._simple), ("others", self._others), ("streams", self._streams)):
                group.create_task(sieve.run(), name=f"http-sieve-{name}")


def _globs(filter: Filter) -> int:
    return len(filter.things) + len(filter.properties) + len(filter.types)


def _nobody() -> None:
    return None
