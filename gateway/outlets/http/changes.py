"""The lossless feed as JSON: poll and long-poll.

Whoever asks the same from the same place gets the same finished bytes: they are built once for each position of the head.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.core.change import Entry, Filter
from gateway.core.journal import Journal
from gateway.outlets.http.answer import JSON, NO_STORE, Answer
from gateway.outlets.http.call import Call
from gateway.outlets.http.conditional import MAX_WAIT_S
from gateway.outlets.http.parameters import filter_of, limit_of, parse_query, wait_of

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

_CHUNK = 500
_MAX_SCAN = 20_000
_CACHE_BYTES = 4_000_000
_HEADERS = (NO_STORE, ("Vary", "Accept"))

FilterKey = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


class Ask(NamedTuple):
    """What a query asks of the feed; `wait_s` None says nothing."""

    since: str | None
    wait_s: float | None
    limit: int
    filter: Filter
    key: FilterKey


class Found(NamedTuple):
    """What there is after a cursor.

    Attributes:
        passing: how many changes pass.
        after: the seq up to which everything was looked at, filtered rows included.
        has_more: whether the head is further.
        data: the finished bytes that say so.
    """

    passing: int
    after: int
    has_more: bool
    data: bytes


Form = Callable[[list[bytes], str, bool], bytes]
"""Makes finished bytes of bodies, the cursor after them, and whether there is more."""


class Feed:
    """Finds what there is for each who asks, and remembers what it found for as long as the head stays."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._found: dict[tuple[Form, int, FilterKey, int], Found] = {}
        self._found_bytes = 0
        self._found_head = -1

    async def look(self, form: Form, after: int, ask: Ask) -> Found:
        """What there is after `after`, in finished bytes.

        Raises:
            CursorGone: the floor has passed it.
        """
        head = self.journal.head
        if head != self._found_head:
            self._found.clear()
            self._found_head, self._found_bytes = head, 0
        key = (form, after, ask.key, ask.limit)
        known = self._found.get(key)
        if known is not None:
            return known
        found = await self._find(form, after, ask.filter, ask.limit)
        if self.journal.head == head == self._found_head and self._found_bytes < _CACHE_BYTES:
            self._found[key] = found
            self._found_bytes += len(found.data) + 500
        return found

    async def _find(self, form: Form, after: int, filter: Filter, limit: int) -> Found:
        """Looks for up to `limit` passing changes, through at most `_MAX_SCAN` rows: nobody holds the loop or the disk for long."""
        bodies: list[bytes] = []
        scanned = 0
        while len(bodies) < limit and scanned < _MAX_SCAN:
            entries = await self.journal.read(after, min(_CHUNK, limit if filter.is_open else _CHUNK))
            if not entries:
                break
            scanned += len(entries)
            after = _take(entries, filter, limit, bodies)
        has_more = after < self.journal.head
        return Found(len(bodies), after, has_more, form(bodies, self.journal.cursor(after), has_more))


class Changes:
    """Serves `/changes` as JSON."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def poll(self, call: Call) -> Answer:
        """At once if something is there, else held for as long as was asked."""
        ask = parse_ask(call.raw_query)
        journal = self._feed.journal
        if ask.since is None:
            return Answer(200, json_form([], journal.cursor(), False), JSON, _HEADERS)
        after = journal.seq_of(ask.since)
        until_s = asyncio.get_running_loop().time() + _granted(call, ask)
        may_wait = not call.is_head
        while True:
            moved = journal.moved()  # taken before reading, so no wake is missed
            found = await self._feed.look(json_form, after, ask)
            if found.passing or found.has_more or not may_wait:
                return Answer(200, found.data, JSON, _HEADERS)
            after = found.after
            may_wait = asyncio.get_running_loop().time() < until_s and await call.hold(moved, until_s)


@lru_cache(maxsize=256)
def parse_ask(raw_query: str) -> Ask:
    """What a query string asks of the feed.

    Raises:
        Problem: bad-parameter.
    """
    values = parse_query(raw_query)
    since = values["since"][-1] if "since" in values else None
    filter = filter_of(values)
    key = (filter.things, filter.properties, filter.types)
    return Ask(since, wait_of(values), limit_of(values, DEFAULT_LIMIT, MAX_LIMIT), filter, key)


def _granted(call: Call, ask: Ask) -> float:
    """The seconds to wait. The parameter wins over `Prefer`; what was capped, or came by `Prefer`, is told."""
    wait_s = ask.wait_s
    if wait_s is None:
        preferred = call.prefer.wait_s
        if preferred is None:
            return 0.0
        call.say("Preference-Applied", f"wait={preferred}")
        return float(preferred)
    if wait_s > MAX_WAIT_S:
        call.say("Preference-Applied", f"wait={MAX_WAIT_S}")
        return float(MAX_WAIT_S)
    return wait_s


def _take(entries: list[Entry], filter: Filter, limit: int, bodies: list[bytes]) -> int:
    """Adds the passing bodies up to `limit`; the seq up to which entries were looked at."""
    for entry in entries:
        if filter.passes(entry):
            bodies.append(entry.body)
            if len(bodies) == limit:
                return entry.seq
    return entries[-1].seq


def json_form(bodies: list[bytes], cursor: str, has_more: bool) -> bytes:
    """The feed's body; what each change says was encoded when it was made."""
    return b'{"changes":[%b],"cursor":"%b","more":%b}' % (
        b",".join(bodies),
        cursor.encode(),
        b"true" if has_more else b"false",
    )
