"""What was: reading back, by time, with the times mended of what was written before the clock was set."""

import asyncio
from typing import Final, NamedTuple

import msgspec

from gateway.core.change import PROPERTY_CHANGED, PROPERTY_REPORTED, Entry, Filter, decode, encode
from gateway.core.clock import BUILT_S, format_time, parse_time
from gateway.core.journal import Journal
from gateway.core.standing import ClockSet

PAGE: Final = 1000
MOST_ROWS: Final = 20_000
"""Rows looked through for one page of history: nobody holds the disk for long."""

_LATE_S: Final = 60.0
"""So much later than it was taken a reading may be written."""


class Page(NamedTuple):
    """Entries in the order asked for; `before` is the seq before which to go on looking, None when there is nothing older."""

    entries: list[Entry]
    before: int | None


class _Timed(msgspec.Struct):
    seq: int
    time: str
    boot: str | None = None


_decode_timed = msgspec.json.Decoder(_Timed).decode


def offset_ms(clock_sets: list[ClockSet], seq: int, boot: str) -> int:
    """By how much the wall clock was behind when the change `seq` was written in this boot.

    The steps of the same boot after it add up, until one after which the clock was known to be right.
    """
    total = 0
    for step in clock_sets:
        if step.seq > seq and step.boot == boot:
            total += step.offset_ms
            if step.condition == "set":
                break
    return total


def true_time(body: bytes, clock_sets: list[ClockSet]) -> float:
    """When a change happened, as far as is known today, in seconds since 1970."""
    timed = _decode_timed(body)
    time_s = parse_time(timed.time)
    return time_s if timed.boot is None else time_s + offset_ms(clock_sets, timed.seq, timed.boot) / 1000


def mended(entry: Entry, clock_sets: list[ClockSet]) -> Entry:
    """The entry with the time that is known today; the very same one where that is what it says."""
    timed = _decode_timed(entry.body)
    offset = offset_ms(clock_sets, timed.seq, timed.boot) if timed.boot is not None else 0
    if not offset:
        return entry
    change = decode(entry.body)
    body = encode(msgspec.structs.replace(change, time=format_time(parse_time(timed.time) + offset / 1000)))
    return Entry(entry.seq, entry.type, entry.thing, entry.name, body)


class History:
    """Reads the journal back. Rows stay as they are; only what is answered is mended."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def back(
        self,
        filter: Filter,
        *,
        first_s: float | None = None,
        last_s: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Page:
        """Passing changes between two times (both included), newest first, at most `limit`.

        Args:
            first_s, last_s: seconds since 1970; None: as far as there is any.
            before: the seq before which to look; the head and what is before it by default.

        Raises:
            JournalDamaged, JournalUnavailable: the file cannot be read.
        """
        journal = self._journal
        at = journal.head + 1 if before is None else before
        found: list[Entry] = []
        for _ in range(MOST_ROWS // PAGE):
            entries = await journal.read_back(at, PAGE)
            newest_s = float("-inf")
            for entry in entries:
                at = entry.seq
                time_s = true_time(entry.body, journal.clock_sets)
                newest_s = max(
                    newest_s, time_s if time_s >= BUILT_S else float("inf")
                )  # never mended: it tells nothing
                if filter.passes(entry) and _is_between(first_s, time_s, last_s):
                    found.append(mended(entry, journal.clock_sets))
                    if len(found) == limit:
                        break
            is_over = len(entries) < PAGE or (first_s is not None and newest_s < first_s - _LATE_S)
            if len(found) == limit:
                break
            if is_over:
                return Page(found, None)
            await asyncio.sleep(0)
        return Page(found, at if at > journal.floor else None)

    async def between(self, thing: str, name: str, first_s: float, last_s: float, limit: int = 1000) -> Page:
        """What one property had to say between two times, oldest first: the newest `limit` of it."""
        filter = Filter((_quoted(thing),), (_quoted(name),), (PROPERTY_CHANGED, PROPERTY_REPORTED))
        page = await self.back(filter, first_s=first_s, last_s=last_s, limit=limit)
        gapless = [entry for entry in page.entries if entry.thing == thing]
        return Page(gapless[::-1], page.before)


def _is_between(first_s: float | None, time_s: float, last_s: float | None) -> bool:
    # To the millisecond, as changes tell it.
    return (first_s is None or time_s > first_s - 0.0005) and (last_s is None or time_s < last_s + 0.0005)


def _quoted(text: str) -> str:
    """A glob that matches just this text."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
