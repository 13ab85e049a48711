"""Connections: aiohttp's protocol with time limits for headers, a limit for each client, and problems instead of its own errors."""

import asyncio
import logging
import socket
from collections import Counter
from ipaddress import ip_address
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.outlets.http.answer import CLOSED, Answer, head_of, wall_s
from gateway.outlets.http.problems import Problem

IDLE_S: Final = 75.0
"""An idle connection is kept for so long between two requests."""

CLOSE_LINE: Final = b"Connection: close\r\n"
_UNWANTED_BYTES: Final = 262_144
_UNACKNOWLEDGED_MS: Final = 60_000
"""A peer that acknowledges nothing for so long is gone, however open its connection looks (TCP_USER_TIMEOUT)."""

log = logging.getLogger(__name__)


class Connections(web.Server):
    """The connections of a server.

    Args:
        handler: answers a request.
        header_timeout_s: from the first byte of a request (or the connection's begin) to the end of its headers.
        max_per_client: connections that one address may hold, 0 for any number; loopback, where proxies are, is not counted.
    """

    def __init__(self, handler: Any, *, header_timeout_s: float, max_per_client: int) -> None:
        super().__init__(
            handler, handler_cancellation=True, access_log=None, keepalive_timeout=IDLE_S, lingering_time=2.0
        )
        self.loop = asyncio.get_running_loop()
        self.header_timeout_s = header_timeout_s
        self.max_per_client = max_per_client
        self.slow = 0
        self.refused = 0
        self._per_client: Counter[str] = Counter()
        self._awaited: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def take_over(self, client: str) -> "Connection":
        """The protocol for a connection that was welcomed at the door; its `connection_made` is for the caller to call."""
        return Connection(self, client, loop=self.loop, **self._kwargs)

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._connections)

    def welcome(self, client: str) -> bool:
        """Counts a new connection of a client. False: it has as many as it may have."""
        if self.max_per_client and self._per_client[client] >= self.max_per_client and not _is_loopback(client):
            self.refused += 1
            return False
        self._per_client[client] += 1
        return True

    def farewell(self, client: str) -> None:
        """Counts a connection out."""
        self._per_client[client] -= 1
        if self._per_client[client] <= 0:
            del self._per_client[client]

    def expect_headers(self, connection: "Connection") -> None:
        """Gives the connection `header_timeout_s` from now, unless its time runs already."""
        if connection in self._awaited:
            return
        self._awaited[connection] = self.loop.time() + self.header_timeout_s
        if self._timer is None:
            self._timer = self.loop.call_later(self.header_timeout_s, self._close_slow)

    def got_headers(self, connection: "Connection") -> None:
        """The headers are there, or the connection is gone."""
        self._awaited.pop(connection, None)

    def _close_slow(self) -> None:
        self._timer = None
        now_s = self.loop.time()
        for connection, until_s in list(self._awaited.items()):
            if until_s <= now_s:
                self.slow += 1
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
            self._connections.farewell(self._client)
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


def finished(answer: Answer) -> bytes:
    """The bytes of an answer after which the connection ends."""
    return head_of(answer, CLOSE_LINE, wall_s()) + answer.body


def _is_loopback(client: str) -> bool:
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def tell_when_gone(transport: asyncio.Transport) -> None:
    """Lets the kernel end a connection whose peer vanished, so that it does not hold a place for hours."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if sock is not None and option is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, option, _UNACKNOWLEDGED_MS)
