"""The lossless feed as JSON: poll and long-poll.

Whoever asks the same from the same place gets the same finished bytes: they are built once for each position of the head.
"""

import asyncio
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.core.change import Entry, Filter, Wanted
from gateway.core.journal import Journal
from gateway.outlets.http.accept import wants_stream
from gateway.outlets.http.answer import JSON, NO_STORE, Answer, header_line
from gateway.outlets.http.conditional import MAX_WAIT_S
from gateway.outlets.http.parameters import filter_of, limit_of, parse_query, wait_of
from gateway.outlets.http.questions import Asked, NotInMemory
from gateway.outlets.http.sieve import Bell, Sieves

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

_CHUNK = 500
_MAX_SCAN = 20_000
_CACHE_BYTES = 4_000_000
_HEADERS = (NO_STORE, ("Vary", "Accept"))


class Ask(NamedTuple):
    """What a query asks of the feed; `wait_s` None says nothing. Equal globs are one filter, told apart from others by its identity."""

    since: str | None
    wait_s: float | None
    limit: int
    filter: Filter


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
        self.sieves = Sieves(journal)
        self._found: dict[tuple[Form, int, Filter, int], Found] = {}
        self._found_bytes = 0
        self._found_head = -1

    async def look(self, form: Form, after: int, ask: Ask, wanted: Wanted | None = None) -> Found:
        """What there is after `after`, in finished bytes. `wanted` is the filter with what it remembers, of who comes again and again.

        Raises:
            CursorGone: the floor has passed it.
        """
        wanted = wanted or Wanted(ask.filter)
        found = self.look_now(form, after, ask, wanted)
        if found is None:
            head = self.journal.head
            found = await self._find(form, after, wanted, ask.limit)
            if self.journal.head == head:
                self._keep(form, after, ask, found)
        return found

    def look_now(self, form: Form, after: int, ask: Ask, wanted: Wanted | None = None) -> Found | None:
        """The same from memory alone; None when it takes the disk.

        Raises:
            CursorGone: the floor has passed it.
        """
        if self.journal.head != self._found_head:
            self._found.clear()
            self._found_head, self._found_bytes = self.journal.head, 0
        found = self._found.get((form, after, ask.filter, ask.limit))
        if found is None:
            found = self._find_now(form, after, wanted or Wanted(ask.filter), ask.limit)
            if found is not None:
                self._keep(form, after, ask, found)
        return found

    def _keep(self, form: Form, after: int, ask: Ask, found: Found) -> None:
        if self._found_bytes < _CACHE_BYTES:
            self._found[(form, after, ask.filter, ask.limit)] = found
            self._found_bytes += len(found.data) + 500

    def _find_now(self, form: Form, after: int, wanted: Wanted, limit: int) -> Found | None:
        bodies: list[bytes] = []
        scanned = 0
        while len(bodies) < limit and scanned < _MAX_SCAN:
            entries = self.journal.recent(after, _chunk(wanted.filter, limit))
            if entries is None:
                return None
            if not entries:
                break
            scanned += len(entries)
            after = _take(entries, wanted, limit, bodies)
        return self._found_of(form, bodies, after)

    async def _find(self, form: Form, after: int, wanted: Wanted, limit: int) -> Found:
        """Looks for up to `limit` passing changes, through at most `_MAX_SCAN` rows: nobody holds the loop or the disk for long."""
        bodies: list[bytes] = []
        scanned = 0
        while len(bodies) < limit and scanned < _MAX_SCAN:
            entries = await self.journal.read(after, _chunk(wanted.filter, limit))
            if not entries:
                break
            scanned += len(entries)
            after = _take(entries, wanted, limit, bodies)
        return self._found_of(form, bodies, after)

    def _found_of(self, form: Form, bodies: list[bytes], after: int) -> Found:
        has_more = after < self.journal.head
        return Found(len(bodies), after, has_more, form(bodies, self.journal.cursor(after), has_more))


class FeedQuestion:
    """The question for what came after a cursor.

    Args:
        after: the seq after which it asks; None asks only for the head's cursor.
    """

    __slots__ = ("_after", "_ask", "_bell", "_feed", "_taken", "extra", "wait_s")

    is_lasting = False  # `now` is another place each time, and a cursor is gone one day

    def __init__(self, feed: Feed, ask: Ask, after: int | None, wait_s: float, extra: bytes) -> None:
        self._feed, self._ask, self._after = feed, ask, after
        self.wait_s, self.extra = wait_s, extra
        self._bell: Bell | None = None
        self._taken = 0  # the head when the bell was

    def key(self) -> Hashable:
        return self._after, self._ask.filter, self._ask.limit, self.extra

    def bell(self) -> asyncio.Event:
        self._skip()
        if self._ask.filter.is_open:
            return self._feed.journal.moved()
        self._bell, self._taken = self._feed.sieves.bell(self._ask.filter), self._feed.journal.head
        return self._bell

    def look(self, *, may_wait: bool) -> Answer | None:
        if self._after is None:
            return self._head_only()
        self._skip()
        found = self._feed.look_now(json_form, self._after, self._ask)
        if found is None:
            raise NotInMemory
        return self._weigh(found, may_wait)

    async def fetch(self, *, may_wait: bool) -> Answer | None:
        if self._after is None:
            return self._head_only()
        self._skip()
        return self._weigh(await self._feed.look(json_form, self._after, self._ask), may_wait)

    def _weigh(self, found: Found, may_wait: bool) -> Answer | None:
        if found.passing or found.has_more or not may_wait:
            return Answer(200, found.data, JSON, _HEADERS)
        self._after = found.after  # what was looked at and does not pass need not be looked at again
        return None

    def _skip(self) -> None:
        """What the bell has been silent about need not be looked at."""
        if self._bell is not None and self._after is not None:
            self._after = self._bell.skip(self._after, self._taken)

    def _head_only(self) -> Answer:
        return Answer(200, json_form([], self._feed.journal.cursor(), False), JSON, _HEADERS)


class Changes:
    """Makes the questions of `/changes` as JSON."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def poll(self, asked: Asked) -> FeedQuestion | None:
        """At once if something is there, else held for as long as was asked; None when it is a stream that is wanted.

        Raises:
            Problem: bad-parameter.
            CursorMalformed, CursorGone: it cannot be read after this cursor.
        """
        if any(wants_stream(field) for field in asked.fields("Accept")):
            return None
        ask = parse_ask(asked.raw_query)
        if ask.since is None:
            return FeedQuestion(self._feed, ask, None, 0, b"")
        wait_s, extra = _granted(asked, ask)
        return FeedQuestion(self._feed, ask, self._feed.journal.seq_of(ask.since), wait_s, extra)


@lru_cache(maxsize=256)
def parse_ask(raw_query: str) -> Ask:
    """What a query string asks of the feed.

    Raises:
        Problem: bad-parameter.
    """
    values = parse_query(raw_query)
    since = values["since"][-1] if "since" in values else None
    return Ask(since, wait_of(values), limit_of(values, DEFAULT_LIMIT, MAX_LIMIT), filter_of(values))


def _granted(asked: Asked, ask: Ask) -> tuple[float, bytes]:
    """The seconds to wait, and the header that tells what was capped or came by `Prefer`. The parameter wins over `Prefer`."""
    wait_s = ask.wait_s
    if wait_s is None:
        preferred = asked.prefer.wait_s
        if preferred is None:
            return 0.0, b""
        return float(preferred), header_line("Preference-Applied", f"wait={preferred}")
    if wait_s > MAX_WAIT_S:
        return float(MAX_WAIT_S), header_line("Preference-Applied", f"wait={MAX_WAIT_S}")
    return wait_s, b""


def _chunk(filter: Filter, limit: int) -> int:
    return min(_CHUNK, limit) if filter.is_open else _CHUNK


def _take(entries: list[Entry], wanted: Wanted, limit: int, bodies: list[bytes]) -> int:
    """Adds the passing bodies up to `limit`; the seq up to which entries were looked at."""
    for entry in entries:
        if wanted.passes(entry):
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
