"""The one place that does HTTP: one POST, and what came of it.

Connections are kept and used again. TLS is verified, redirects are not followed, cookies are not kept, no proxy is taken from the
environment, and every connection is checked against the address policy at the moment it is made.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import aiohttp
from yarl import URL

from gateway.outlets.webhooks.errors import UrlRefused
from gateway.outlets.webhooks.lookup import LOOKUPS, Lookup, Resolver, system_lookup
from gateway.outlets.webhooks.policy import Policy, address_of
from gateway.outlets.webhooks.schedule import retry_after

TIMEOUT_S: Final = 15.0
CONNECT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024
KEPT_ANSWER_BYTES: Final = 1024
KEEP_ALIVE_S: Final = 15.0
CHECK_S: Final = 2.0


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

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """One attempt; whatever goes wrong on the way is an outcome, not an error. Cancelling it closes its connection."""

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
    """Sends by aiohttp's client.

    Args:
        policy: where it may connect.
        timeout_s: for a whole exchange; connecting may take `CONNECT_S` of it.
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
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
        self._tls = tls
        self._lookup = lookup
        self._wall_s = wall_s
        self._permits = asyncio.Semaphore(LOOKUPS)
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        begun_s = time.monotonic()
        try:
            outcome = await self._exchange(self._policy.check_url(url), headers, body)
        except UrlRefused as error:
            outcome = Outcome(None, f"not allowed: {error}; {error.hint}")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            outcome = Outcome(None, _say(error))
        return outcome._replace(duration_s=time.monotonic() - begun_s)

    def check(self, url: str) -> None:
        self._policy.check_url(url)

    async def check_address(self, url: str) -> None:
        target = self._policy.check_url(url)
        host = target.raw_host or ""
        if host.replace(".", "").isdigit() or ":" in host:
            return
        resolver = Resolver(self._policy, target.scheme, self._lookup, self._permits)
        with contextlib.suppress(
            OSError
        ):  # a name that nobody knows yet may be known when there is something to deliver
            async with asyncio.timeout(CHECK_S):
                await resolver.resolve(host, target.port or 0)

    async def close(self) -> None:
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def _exchange(self, url: URL, headers: Mapping[str, str], body: bytes) -> Outcome:
        session = self._sessions.get(url.scheme) or self._open(url.scheme)
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            answer = await _read(response)
            if 200 <= response.status < 300:
                return Outcome(response.status, "", answer)
            asked_s = retry_after(response.headers, self._wall_s())
            return Outcome(response.status, f"answered {response.status}", answer, asked_s)

    def _open(self, scheme: str) -> aiohttp.ClientSession:
        """One session for each scheme: whether a public address may be called depends on it."""

        def make_socket(info: tuple[Any, ...]) -> socket.socket:
            family, kind, protocol, _, where = info
            self._policy.check_address(address_of(where[0]), where[1], scheme)
            return socket.socket(family, kind, protocol)

        connector = aiohttp.TCPConnector(
            resolver=Resolver(self._policy, scheme, self._lookup, self._permits),
            socket_factory=make_socket,
            limit=0,  # each line has one request under way, and none waits for another's
            keepalive_timeout=KEEP_ALIVE_S,
            ssl=self._tls or True,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
        )
        self._sessions[scheme] = session
        return session


async def _read(response: aiohttp.ClientResponse) -> str:
    """The beginning of the answer's body. One that is too long, or breaks off, costs its connection; the status stands."""
    kept, length = b"", 0
    try:
        async for chunk in response.content.iter_any():
            kept += chunk[: KEPT_ANSWER_BYTES - len(kept)]
            length += len(chunk)
            if length > MAX_ANSWER_BYTES:
                response.close()
                break
    except (aiohttp.ClientError, OSError):
        response.close()
    return kept.decode("utf-8", "replace")


def _say(error: Exception) -> str:
    """What went wrong, for a person; never the URL, which may hold a secret."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted: {_verification(error)}"
        case aiohttp.ClientSSLError():
            return f"TLS failed: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientConnectorDNSError():
            return f"its name is not known: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "the connection was cut before an answer"
        case aiohttp.ConnectionTimeoutError():
            return "connecting timed out"
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientResponseError():
            return f"the answer is not HTTP: {error.message:.200}"
        case _:
            return f"failed: {type(error).__name__}"


def _verification(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return getattr(cause, "verify_message", "") or str(cause)
