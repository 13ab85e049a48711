"""Connections that were led on: aiohttp's protocol with a time limit for headers, and problems instead of its own errors.

With `handler.py` this is all that is built on aiohttp's server, and nothing imports the two before they are needed (`handover.py`).
"""

import asyncio
import logging
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import LineTooLong

from gateway.outlets.http.clients import IDLE_S, Clients, finished
from gateway.outlets.http.problems import Problem

_UNWANTED_BYTES: Final = 262_144

log = logging.getLogger(__name__)


class Sent(web.StreamResponse):
    """What aiohttp is handed once the bytes are on their way: it has nothing left to do but to keep or close the connection."""

    def __init__(self, *, keep: bool) -> None:
        super().__init__()
        self._keep = keep

    @property
    def keep_alive(self) -> bool:
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: Any = b"") -> None:
        return None


KEPT: Final = Sent(keep=True)
CLOSED: Final = Sent(keep=False)


class Connections(web.Server):
    """The connections of a server that were led on.

    Args:
        handler: answers a request.
        clients: counts a connection out when it ends, and those that were too slow.
        loop: where they are served; the object itself may be made in another thread.
    """

    def __init__(self, handler: Any, clients: Clients, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            handler, handler_cancellation=True, loop=loop, access_log=None, keepalive_timeout=IDLE_S, lingering_time=2.0
        )
        self.clients = clients
        self.loop = loop
        self._awaited: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def take_over(self, transport: asyncio.Transport, client: str, data: bytes) -> None:
        """Serves a connection of a client who was welcomed at the door, from the bytes on that have come of it."""
        connection = Connection(self, client, loop=self.loop, **self._kwargs)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(data)

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._connections)

    def expect_headers(self, connection: "Connection") -> None:
        """Gives the connection `header_timeout_s` from now, unless its time runs already."""
        if connection in self._awaited:
            return
        self._awaited[connection] = self.loop.time() + self.clients.header_timeout_s
        if self._timer is None:
            self._timer = self.loop.call_later(self.clients.header_timeout_s, self._close_slow)

    def got_headers(self, connection: "Connection") -> None:
        """The headers are there, or the connection is gone."""
        self._awaited.pop(connection, None)

    def _close_slow(self) -> None:
        self._timer = None
        now_s = self.loop.time()
        for connection, until_s in list(self._awaited.items()):
            if until_s <= now_s:
                self.clients.slow += 1
                del self._awaited[connection]
                connection.abort()
        if self._awaited:  # oldest first: a dict keeps the order
            self._timer = self.loop.call_at(next(iter(self._awaited.values())), self._close_slow)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Ends all connections; handlers have `timeout` to finish."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await super().shutdown(timeout)


class Connection(web.RequestHandler):
    """One client's connection, from where the door has led it on."""

    __slots__ = ("_client", "_connections", "_unwanted_left", "has_begun", "is_answering")

    def __init__(self, connections: Connections, client: str, **kwargs: Any) -> None:
        super().__init__(connections, **kwargs)
        self._connections = connections
        self._client: str | None = client
        self.is_answering = False
        self.has_begun = False
        self._unwanted_left: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.expect_headers(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.got_headers(self)
        if self._client is not None:
            self._connections.clients.farewell(self._client)
            self._client = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.is_answering:
            self._connections.expect_headers(self)
        if self._unwanted_left is not None:
            self._unwanted_left -= len(data)
            if self._unwanted_left < 0:
                if self.transport is not None:
                    self.transport.pause_reading()
                return
        super().data_received(data)

    def begin(self) -> None:
        """A request is there, with all its headers."""
        self.is_answering, self.has_begun = True, False
        self._connections.got_headers(self)

    def begin_stream(self) -> None:
        """The answer has begun: a fault can only end it now."""
        self.has_begun = True

    def refuse_rest(self) -> None:
        """The answer goes out although the body is not all there: a little more is read, so that the client sees it, then nothing."""
        self._unwanted_left = _UNWANTED_BYTES

    def end(self) -> None:
        """The request is answered."""
        self.is_answering = False

    def abort(self) -> None:
        """Cuts the connection."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp calls for bytes that are no HTTP, and for a fault of ours: a problem, and the end of the connection."""
        self._connections.got_headers(self)
        if status < 500:
            slug = "header-too-large" if isinstance(exc, LineTooLong) else "bad-request"
            problem = Problem(slug, " ".join((message or "it cannot be parsed").split())[:200])
            log.debug("http: %s sent something that is no request: %s", self._client, problem.detail)
        else:
            problem = Problem("internal-error", "the request could not be answered")
            log.error("http: a fault while answering %s %s", request.method, request.rel_url.path, exc_info=exc)
        if self.transport is not None and not self.has_begun:
            self.transport.write(finished(problem.answer()))
        return CLOSED
