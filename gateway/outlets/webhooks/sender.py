"""The one place that does HTTP: one POST, and what came of it.

Connections are kept and used again. TLS is verified, redirects are not followed, cookies are not kept, no proxy is taken from anywhere, and
every connection is checked against the address policy at the moment it is made. aiohttp's client could do all that, at five times the cost.

A receiver may close a connection that rests at the very moment when it is used again; nobody can tell then whether it had the
request. So where a connection that had rested for `STALE_S` ends before the first byte of an answer, the same bytes are sent once more,
at once, on a new connection. Both together are one attempt; a receiver that had both drops one by its `webhook-id`.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from yarl import URL

from gateway.outlets.webhooks.answer import Answer
from gateway.outlets.webhooks.connection import Connection, Deadlines
from gateway.outlets.webhooks.dialing import Dialer, Origin
from gateway.outlets.webhooks.errors import NoAnswer, NoByte, UrlRefused
from gateway.outlets.webhooks.lookup import Lookup, system_lookup
from gateway.outlets.webhooks.policy import Policy
from gateway.outlets.webhooks.schedule import retry_after

TIMEOUT_S: Final = 15.0
KEEP_ALIVE_S: Final = 15.0
CHECK_S: Final = 2.0
STALE_S: Final = 1.0
_MAX_TARGETS: Final = 1000


class Outcome(NamedTuple):
    """What came of one attempt. `status` is None where there was no answer, and then `reason` says why."""

    status: int | None
    reason: str
    answer: str = ""
    retry_after_s: float | None = None
    duration_s: float = 0.0

    @property
    def is_ok(self) -> bool:
        """Any 2xx, and nothing else."""
        return self.status is not None and 200 <= self.status < 300


class Sender(Protocol):
    """Sends signed messages."""

    async def post(self, url: str, lines: bytes, body: bytes) -> Outcome:
        """One attempt; whatever goes wrong on the way is an outcome, not an error. Cancelling it closes its connection.

        Args:
            lines: finished header lines, each with its end; what belongs to the connection is not among them.
        """

    def check(self, url: str) -> None:
        """Judges a URL by its text.

        Raises:
            UrlRefused: deliveries would not be allowed there.
        """

    async def check_address(self, url: str) -> None:
        """Judges a URL with the addresses that its name has now, if it has any; takes `CHECK_S` at most.

        Raises:
            UrlRefused: deliveries would not be allowed there.
        """

    async def close(self) -> None:
        """Closes all connections."""


class HttpSender:
    """Sends over connections of its own.

    Args:
        policy: where it may connect.
        timeout_s: for a whole attempt; connecting may take `dialing.CONNECT_S` of it.
        tls: trusts other authorities than the system's.
        lookup: how names become addresses.
        wall_s: seconds since 1970, for a `Retry-After` date.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = system_lookup,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._wall_s = wall_s
        self._dialer = Dialer(policy, tls, lookup)
        self._targets: dict[str, _Target] = {}
        self._resting: dict[Origin, list[Connection]] = {}
        self._open: dict[Connection, Origin] = {}
        self._deadlines = Deadlines()
        self._is_closed = False

    async def post(self, url: str, lines: bytes, body: bytes) -> Outcome:
        begun_s = time.monotonic()
        try:
            target = self._targets.get(url) or self._target(url)
            answer = await self._exchange(target.origin, target.request(lines, body), begun_s)
        except UrlRefused as error:
            return _without_answer(f"not allowed: {error}; {error.hint}", begun_s)
        except NoAnswer as error:
            return _without_answer(str(error), begun_s)
        return self._outcome(answer, begun_s)

    def check(self, url: str) -> None:
        self._policy.check_url(url)

    async def check_address(self, url: str) -> None:
        target = _Target(self._policy.check_url(url))
        # a name that nobody knows yet may be known when there is something to deliver
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CHECK_S):
                await self._dialer.check(target.origin)

    async def close(self) -> None:
        self._is_closed = True
        self._deadlines.close()
        self._resting.clear()
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)  # what was aborted is told so in the loop's next turn

    # -- private -----------------------------------------------------------------------------------------------------

    def _target(self, url: str) -> "_Target":
        """What a URL means; kept, but for a refusal."""
        target = _Target(self._policy.check_url(url))
        if len(self._targets) >= _MAX_TARGETS:
            self._targets.clear()
        self._targets[url] = target
        return target

    async def _exchange(self, origin: Origin, request: bytes, begun_s: float) -> Answer:
        due_s = begun_s + self._timeout_s
        if kept := self._take(origin):
            try:
                return await self._ask(kept, origin, request, due_s)
            except NoByte:
                if begun_s - kept.rests_since_s < STALE_S:
                    raise
        connection = await self._dialer.connect(origin, lambda: Connection(self._on_lost), due_s)
        self._open[connection] = origin
        if self._is_closed:
            connection.abort()
            raise NoAnswer("the gateway gave it up")
        return await self._ask(connection, origin, request, due_s)

    async def _ask(self, connection: Connection, origin: Origin, request: bytes, due_s: float) -> Answer:
        self._deadlines.set(connection, due_s)
        try:
            return await connection.ask(request)
        finally:
            if connection.is_usable:
                connection.rests_since_s = now_s = time.monotonic()
                self._deadlines.set(connection, now_s + KEEP_ALIVE_S)
                self._resting.setdefault(origin, []).append(connection)
            else:  # it was lost, or whoever waited does not wait any more
                self._deadlines.clear(connection)
                connection.abort()

    def _take(self, origin: Origin) -> Connection | None:
        """A kept connection, the one used last; None when there is none."""
        resting = self._resting.get(origin)
        while resting:
            connection = resting.pop()
            if connection.is_usable:
                return connection
        return None

    def _on_lost(self, connection: Connection) -> None:
        self._deadlines.clear(connection)
        origin = self._open.pop(connection, None)
        resting = self._resting.get(origin) if origin else None
        if origin and resting is not None:
            with contextlib.suppress(ValueError):
                resting.remove(connection)
            if not resting:
                del self._resting[origin]

    def _outcome(self, answer: Answer, begun_s: float) -> Outcome:
        status, said = answer.status, answer.body.decode("utf-8", "replace")
        duration_s = time.monotonic() - begun_s
        if 200 <= status < 300:
            return Outcome(status, "", said, None, duration_s)
        return Outcome(status, f"answered {status}", said, retry_after(answer.headers, self._wall_s()), duration_s)


class _Target:
    """A URL taken apart: where to connect, and how each request begins."""

    __slots__ = ("_begin", "origin")

    def __init__(self, url: URL) -> None:
        host = url.raw_host or ""
        self.origin = Origin(url.scheme, host.removesuffix("."), url.port or 0)
        named = f"[{host}]" if ":" in host else host
        port = "" if url.is_default_port() else f":{url.port}"
        path = f"POST {url.raw_path_qs} HTTP/1.1\r\n"
        self._begin = f"{path}Host: {named}{port}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n".encode("ascii")

    def request(self, lines: bytes, body: bytes) -> bytes:
        """A finished request."""
        return b"%s%sContent-Length: %d\r\n\r\n%s" % (self._begin, lines, len(body), body)


def _without_answer(reason: str, begun_s: float) -> Outcome:
    return Outcome(None, reason, duration_s=time.monotonic() - begun_s)
