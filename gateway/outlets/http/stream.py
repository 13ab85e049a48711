"""The lossless feed as server-sent events (WHATWG HTML): unnamed events, and the id of each is the cursor after it."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from gateway.core.change import Wanted
from gateway.core.errors import CursorGone
from gateway.outlets.http.accept import EVENT_STREAM
from gateway.outlets.http.answer import NO_STORE, Answer, drain, head_of, wall_s
from gateway.outlets.http.call import Call
from gateway.outlets.http.changes import Ask, Feed, parse_ask
from gateway.outlets.http.clients import CLOSE_LINE, leave_little_unsent
from gateway.outlets.http.pace import Turns
from gateway.outlets.http.problems import of_error

if TYPE_CHECKING:
    from gateway.outlets.http.connections import Connection

KEEP_ALIVE_S: Final = 15.0
SLOW_S: Final = 30.0
"""A stream whose reader takes nothing for so long is cut; it resumes by its cursor."""

_BATCH = 100
_HEADERS = (NO_STORE, ("Vary", "Accept"), ("X-Accel-Buffering", "no"))
_RETRY = b"retry: 3000\n\n"
_STILL_HERE = b": ka\n"  # one line feed: some clients take a blank line after it for an event


class Streams:
    """Serves `/changes` as SSE."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._turns = Turns()
        self.open = 0
        self.cut = 0

    async def serve(self, call: Call) -> None:
        """Streams until the client goes, reads too slowly, loses its token, or the server stops."""
        ask = parse_ask(call.raw_query)._replace(limit=_BATCH)
        begin = _RETRY
        try:
            after = self._feed.journal.seq_of(call.request.headers.get("Last-Event-ID") or ask.since or "now")
        except CursorGone as gone:
            after = self._feed.journal.head
            begin += _reset(gone)
        stream = _Stream(call)
        if call.is_head:
            stream.begin(b"")
            return
        call.take_place()
        self.open += 1
        try:
            stream.begin(begin)
            if await self._flow(call, stream, after, ask):
                stream.end()
            elif stream.was_slow:
                self.cut += 1
        finally:
            self.open -= 1

    async def _flow(self, call: Call, stream: "_Stream", after: int, ask: Ask) -> bool:
        """Writes what comes. True at an end of ours, False when the client takes nothing any more."""
        journal, loop = self._feed.journal, asyncio.get_running_loop()
        wanted = Wanted(ask.filter)
        bell, taken = self._feed.sieves.stream_bell(wanted), journal.head
        quiet_s = loop.time() + KEEP_ALIVE_S
        while call.may_go_on():
            after = bell.skip(after, taken)
            if bell.is_set():
                bell, taken = self._feed.sieves.stream_bell(wanted), journal.head
            try:
                after, has_more, data = (await self._feed.look(event_form, after, ask, wanted))[1:]
            except CursorGone:  # the floor went past a reader that was too slow
                gap = journal.gap(after)
                after, has_more, data = gap.seq, True, event_form([gap.body], "", False)
            if not data and loop.time() >= quiet_s:
                data = _chunk(_STILL_HERE)
            if data:
                if not await stream.write(data):
                    return False
                quiet_s = loop.time() + KEEP_ALIVE_S
            if has_more:
                await self._turns.next()  # from the ring and into the socket nothing waits: others have their turn here
            else:
                await call.wait(bell, quiet_s)
        return True


class _Stream:
    """The bytes of one answer: chunked for HTTP/1.1, to the end of the connection for 1.0."""

    def __init__(self, call: Call) -> None:
        self._request = call.request
        self._is_chunked = call.request.version >= (1, 1)
        self.was_slow = False

    def begin(self, data: bytes) -> None:
        chunked = (("Transfer-Encoding", "chunked"),) if self._is_chunked else ()
        answer = Answer(200, b"", EVENT_STREAM, (*_HEADERS, *chunked), has_length=False)
        cast("Connection", self._request.protocol).begin_stream()
        if self._request.transport is not None:
            # What the kernel does not take has to be gone before anything more is looked for: for a deaf reader nothing is done.
            self._request.transport.set_write_buffer_limits(high=1, low=0)
            leave_little_unsent(self._request.transport)
            head = head_of(answer, CLOSE_LINE, wall_s())
            self._request.transport.write(head + (self._framed(_chunk(data)) if data else b""))

    async def write(self, chunk: bytes) -> bool:
        """Writes what `_chunk` made, and waits for the client to take it. False when it does not, or is gone."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(self._framed(chunk))
        if self._request.protocol.writing_paused:
            self.was_slow = not await drain(self._request, SLOW_S)
        return not transport.is_closing()

    def end(self) -> None:
        if self._is_chunked and self._request.transport is not None:
            self._request.transport.write(b"0\r\n\r\n")

    def _framed(self, chunk: bytes) -> bytes:
        return chunk if self._is_chunked else chunk[chunk.index(b"\n") + 1 : -2]


def event_form(bodies: list[bytes], cursor: str, has_more: bool) -> bytes:
    """One chunk with an event for each body, nothing for none. A change's id is the cursor after it."""
    if not bodies:
        return b""
    return _chunk(b"".join([b"id: %b\ndata: %b\n\n" % (_id_of(body), body) for body in bodies]))


def _id_of(body: bytes) -> bytes:
    """The `id` of an encoded change: the second member, a string without escapes."""
    begin = body.index(b'"id":"') + 6
    return body[begin : body.index(b'"', begin)]


def _reset(gone: CursorGone) -> bytes:
    return b"event: reset\nid: %b\ndata: %b\n\n" % (gone.head.encode(), of_error(gone).body())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
