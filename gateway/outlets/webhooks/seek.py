"""Where in the journal to begin: at a cursor, at a time, or where a stopped subscription was left."""

from gateway.core.change import time_of
from gateway.core.clock import parse_time
from gateway.core.errors import CursorMalformed
from gateway.core.journal import Journal


async def seek(journal: Journal, since: str) -> int:
    """The seq after which to read for a cursor, `oldest`, `now`, or an RFC 3339 time (what happened then or later).

    Where the clock was set in between, times are not in order; then a place that fits the time is found, perhaps not the first one.

    Raises:
        CursorMalformed: it is none of these.
        CursorGone: it speaks of what the journal does not have.
    """
    try:
        return journal.seq_of(since)
    except CursorMalformed:
        try:
            time_s = parse_time(since)
        except (ValueError, OverflowError):
            raise CursorMalformed(since) from None
    return await _after_time(journal, time_s)


def parked_seq(journal: Journal, cursor: str | None) -> int:
    """The seq of a parked cursor, whether or not the floor has passed it; 0 if it is another journal's, so that nothing is skipped."""
    epoch, _, digits = (cursor or "").rpartition("-")
    return min(int(digits), journal.head) if epoch == journal.epoch and digits.isdigit() else 0


async def _after_time(journal: Journal, time_s: float) -> int:
    low, high = journal.floor - 1, journal.head
    while low < high:  # the row after `low` may still be too early; the one after `high` is not
        middle = (low + high) // 2
        found = await journal.read(max(middle, journal.floor - 1), 1)
        if found and parse_time(time_of(found[0].body)) < time_s:
            low = max(found[0].seq, middle + 1)
        else:
            high = middle
    return min(low, journal.head)
