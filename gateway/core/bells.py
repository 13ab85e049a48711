"""Who waits for some changes only: woken at once by one that is wanted, and otherwise seldom."""

import asyncio

from gateway.core.change import Entry, Filter

PATIENCE_S = 1.0
"""Who wants nothing of what came is woken so long after it, to move on behind it."""

PATIENCE_ROWS = 1000
"""Or behind so many changes: they are still in memory then."""


class Bells:
    """One event for each filter under which somebody waits."""

    def __init__(self) -> None:
        self._events: dict[Filter, asyncio.Event] = {}
        self._unwanted: set[tuple[str, str, str]] = set()
        """Kinds of changes that nobody waits for who waits now: most come again and again."""
        self._passed = 0
        self._timer: asyncio.TimerHandle | None = None

    def event(self, filter: Filter) -> asyncio.Event:
        """The event that is set at the next change that passes, and some time after one that does not."""
        event = self._events.get(filter)
        if event is None:
            event = self._events[filter] = asyncio.Event()
            self._unwanted.clear()
        return event

    def ring_for(self, entry: Entry) -> None:
        """A change has become visible; it can be read as soon as this turn of the loop is over."""
        if not self._events:
            return
        kind = entry.kind
        if kind not in self._unwanted:
            for filter in [one for one in self._events if one.passes(entry)]:
                self._events.pop(filter).set()
            self._unwanted.add(kind)
        self._passed += 1
        if self._passed >= PATIENCE_ROWS:
            self._ring_all()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._ring_all)

    def _ring_all(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._passed = None, 0
        self._unwanted.clear()
        events, self._events = self._events, {}
        for event in events.values():
            event.set()
