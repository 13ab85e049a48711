"""What was, newest first, as far back as the journal goes."""

from gateway.core.change import PROPERTY_CHANGED, PROPERTY_REPORTED
from gateway.core.clock import parse_time
from gateway.core.errors import CursorMalformed
from gateway.core.history import History as Past
from gateway.core.journal import Journal
from gateway.outlets.http.answer import JSON, NO_STORE, Answer
from gateway.outlets.http.call import Call
from gateway.outlets.http.parameters import Parameters, bad_parameter, filter_of, limit_of, parse_query


class History:
    """Serves `/history`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._past = Past(journal)

    async def serve(self, call: Call) -> Answer:
        """Changes of properties between two times; `before` in the answer says where to go on."""
        values = parse_query(call.raw_query)
        page = await self._past.back(
            filter_of({"type": [PROPERTY_CHANGED, PROPERTY_REPORTED], **values}),
            first_s=_time(values, "from"),
            last_s=_time(values, "to"),
            before=self._before(values),
            limit=limit_of(values, 100, 1000),
        )
        bodies = b",".join([entry.body for entry in page.entries])
        before = b"null" if page.before is None else b'"%b"' % self._journal.cursor(page.before).encode()
        return Answer(200, b'{"changes":[%b],"before":%b}' % (bodies, before), JSON, (NO_STORE,))

    def _before(self, values: Parameters) -> int | None:
        """The seq before which to look: where the last answer ended, None for the newest."""
        if "before" not in values:
            return None
        try:
            return self._journal.seq_of(values["before"][-1])
        except CursorMalformed as error:
            raise bad_parameter("before", "what an earlier answer gave as `before`") from error


def _time(values: Parameters, name: str) -> float | None:
    """Seconds since 1970."""
    if name not in values:
        return None
    try:
        return parse_time(values[name][-1].replace(" ", "+"))  # an unescaped + of a zone comes as a space
    except (ValueError, OverflowError) as error:
        raise bad_parameter(name, "a time like 2026-11-23T16:00:00Z") from error
