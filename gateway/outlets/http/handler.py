"""One request from aiohttp's parser to the bytes of its answer."""

import logging

from aiohttp import web

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.outlets.http.answer import Answer, send
from gateway.outlets.http.auth import Guard, Hosts
from gateway.outlets.http.call import Call
from gateway.outlets.http.clients import CLOSE_LINE
from gateway.outlets.http.connections import CLOSED, KEPT, Connection
from gateway.outlets.http.parking import Lot
from gateway.outlets.http.problems import Problem, of_error
from gateway.outlets.http.routes import Router

log = logging.getLogger(__name__)


class Handler:
    """Answers requests.

    Args:
        max_body_bytes: no body may be longer.
    """

    def __init__(
        self, router: Router, guard: Guard, hosts: Hosts, lot: Lot, clock: Clock, *, max_body_bytes: int
    ) -> None:
        self._router, self._guard, self._hosts, self._lot, self._clock = router, guard, hosts, lot, clock
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin()
        try:
            answer, extra = await self._answer(request)
            if answer is None:
                return CLOSED
            is_whole = request.content.is_eof()
            if not is_whole:
                connection.refuse_rest()
            keep = request.keep_alive and not self._lot.is_closed and is_whole
            if not keep:
                extra += CLOSE_LINE
            elif request.version < (1, 1):
                extra += b"Connection: keep-alive\r\n"
            await send(request, answer, extra, self._clock.wall_s())
            return KEPT if keep else CLOSED
        finally:
            connection.end()

    async def _answer(self, request: web.BaseRequest) -> tuple[Answer | None, bytes]:
        """The answer, and its own header lines; None when it was streamed."""
        call: Call | None = None
        try:
            self._hosts.check(request.headers.getall("Host", ()), request.version)
            route, params = self._router.find(request.method, request.rel_url.raw_path)
            call = Call(request, route, params, self._guard, self._lot, self._max_body_bytes)
            call.admit()
            return await route.handler(call), call.extra
        except Problem as problem:
            return problem.answer(), call.extra if call else b""
        except GatewayError as error:
            told = of_error(error)
            if told.slug == "internal-error":
                log.exception("http: %s %s", request.method, request.rel_url.raw_path)
            return told.answer(), call.extra if call else b""
        finally:
            if call is not None:
                call.leave()
