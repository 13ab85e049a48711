"""What was, newest first, as far back as the journal goes."""

from typing import Final

from gateway.core.change import PROPERTY_CHANGED, PROPERTY_REPORTED, Entry, Filter, time_of
from gateway.core.clock import format_time, parse_time
from gateway.core.errors import CursorMalformed
from gateway.core.journal import Journal
from gateway.outlets.http.answer import JSON, NO_STORE, Answer
from gateway.outlets.http.call import Call, bad_parameter, filter_of, limit_of, parse_query

_PAGE: Final = 1000
_MAX_SCAN: Final = 20_000
_BEFORE_ALL, _AFTER_ALL = "", "9999"


class History:
    """Serves `/history`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def serve(self, call: Call) -> Answer:
        """Changes of properties between two times. Looks through at most `_MAX_SCAN` rows; `before` says where to go on."""
        values = parse_query(call.request.rel_url.raw_query_string)
        limit = limit_of(values, 100, 1000)
        filter = filter_of({"type": [PROPERTY_CHANGED, PROPERTY_REPORTED], **values})
        first, last = _time(values, "from", _BEFORE_ALL), _time(values, "to", _AFTER_ALL)
        before = self._before(values)
        bodies: list[bytes] = []
        for _ in range(_MAX_SCAN // _PAGE):
            entries = await self._journal.read_back(before, _PAGE)
            for entry in entries:
                before = entry.seq
                if _is_wanted(entry, filter, first, last):
                    bodies.append(entry.body)
                    if len(bodies) == limit:
                        break
            if len(entries) < _PAGE or len(bodies) == limit:
                break
        has_more = before > self._journal.floor
        told = b'"%b"' % self._journal.cursor(before).encode() if has_more else b"null"
        return Answer(200, b'{"changes":[%b],"before":%b}' % (b",".join(bodies), told), JSON, (NO_STORE,))

    def _before(self, values: dict[str, list[str]]) -> int:
        """The seq before which to look: behind the head, or where the last answer ended."""
        if "before" not in values:
            return self._journal.head + 1
        text = values["before"][-1]
        try:
            return self._journal.seq_of(text)
        except CursorMalformed as error:
            raise bad_parameter("before", "what an earlier answer gave as `before`") from error


def _is_wanted(entry: Entry, filter: Filter, first: str, last: str) -> bool:
    return filter.passes(entry) and first <= time_of(entry.body) <= last


def _time(values: dict[str, list[str]], name: str, otherwise: str) -> str:
    """A time as changes write it, so that the two compare as text."""
    if name not in values:
        return otherwise
    try:
        return format_time(parse_time(values[name][-1].replace(" ", "+")))  # an unescaped + of a zone comes as a space
    except (ValueError, OverflowError) as error:
        raise bad_parameter(name, "a time like 2026-11-23T16:00:00Z") from error
