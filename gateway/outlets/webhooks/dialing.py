"""Making a connection: the name looked up, each address judged at the moment its socket is made, TLS verified."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiohappyeyeballs import start_connection

from gateway.outlets.webhooks.connection import Connection
from gateway.outlets.webhooks.errors import NoAnswer, UrlRefused
from gateway.outlets.webhooks.lookup import Found, Lookup, Resolver
from gateway.outlets.webhooks.policy import Policy, address_of

CONNECT_S: Final = 5.0
FOUND_FOR_S: Final = 10.0
"""Addresses are asked for again after this time, so that a receiver that closes each connection does not cost a lookup each. They
are judged at every connection all the same."""
SECOND_ADDRESS_S: Final = 0.25
"""A second address is tried beside the first after this time (RFC 8305)."""
_MAX_FOUND: Final = 500
_GOODBYE_S: Final = 2.0


class Origin(NamedTuple):
    """Where connections go; all requests to one can share them."""

    scheme: str
    host: str
    port: int


class Dialer:
    """Makes connections where the policy lets it.

    Args:
        tls: trusts other authorities than the system's.
        lookup: how names become addresses.
    """

    def __init__(self, policy: Policy, tls: ssl.SSLContext | None, lookup: Lookup) -> None:
        self._policy, self._tls = policy, tls
        self._resolver = Resolver(policy, lookup)
        self._found: dict[Origin, tuple[float, Found]] = {}

    async def check(self, origin: Origin) -> None:
        """Judges a name by the addresses it has now.

        Raises:
            UrlRefused: none of them is allowed.
            OSError: it has none.
        """
        if not _is_address(origin.host):
            await self._resolver.resolve(origin.host, origin.port, origin.scheme)

    async def connect(self, origin: Origin, make: Callable[[], Connection], due_s: float) -> Connection:
        """A new connection, ready for a request, before `due_s` (monotonic).

        Raises:
            UrlRefused: the policy does not allow it.
            NoAnswer: it was not made; the message says why.
        """
        try:
            async with asyncio.timeout(max(0.0, due_s - time.monotonic())):
                link = await self._open_socket(origin, await self._find(origin))
                return await self._begin(origin, make, link)
        except TimeoutError:
            raise NoAnswer("connecting timed out") from None

    async def _find(self, origin: Origin) -> Found:
        host = origin.host
        if _is_address(host):
            return [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)]
        until_s, found = self._found.get(origin, (0.0, []))
        if time.monotonic() >= until_s:
            try:
                found = await self._resolver.resolve(host, origin.port, origin.scheme)
            except OSError as error:
                raise NoAnswer(f"its name is not known: {error.strerror or error}") from error
            if len(self._found) >= _MAX_FOUND:
                self._found.clear()
            self._found[origin] = time.monotonic() + FOUND_FOR_S, found
        return found

    async def _open_socket(self, origin: Origin, found: Found) -> socket.socket:
        """A connected socket; the addresses are tried in turn, overlapping where the first is slow.

        Each is judged once more as its socket is made: whatever was judged before, this is the address that is really called.
        """
        refused: list[UrlRefused] = []

        def make_socket(info: tuple[Any, ...]) -> socket.socket:
            family, kind, protocol, _, where = info
            try:
                self._policy.check_address(address_of(where[0]), where[1], origin.scheme)
            except UrlRefused as error:
                refused.append(error)
                raise OSError(str(error)) from error  # which is all that the race takes for a failure
            return socket.socket(family, kind, protocol)

        wanted = [_as_info(family, text, origin.port) for family, text in found]
        try:
            async with asyncio.timeout(CONNECT_S):
                return await start_connection(
                    wanted, happy_eyeballs_delay=SECOND_ADDRESS_S, interleave=1, socket_factory=make_socket
                )
        except TimeoutError:
            raise
        except OSError as error:
            self._found.pop(origin, None)
            if len(refused) == len(wanted):
                raise refused[0] from error
            raise NoAnswer(f"cannot connect: {os.strerror(error.errno) if error.errno else error}") from error

    async def _begin(self, origin: Origin, make: Callable[[], Connection], link: socket.socket) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            tls: dict[str, Any] = {}
            if origin.scheme == "https":
                tls = {"ssl": await self._context(), "server_hostname": origin.host, "ssl_shutdown_timeout": _GOODBYE_S}
            _, connection = await loop.create_connection(make, sock=link, **tls)
        except BaseException as error:
            link.close()
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise NoAnswer(_say(error)) from error
            raise
        return connection

    async def _context(self) -> ssl.SSLContext:
        """Verifies certificate and name. Made when it is first needed, in a thread: reading all authorities takes a while."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


def _is_address(host: str) -> bool:
    try:
        address_of(host)
    except ValueError:
        return False
    return True


def _as_info(family: socket.AddressFamily, text: str, port: int) -> tuple[Any, ...]:
    """An address as `getaddrinfo` gives it."""
    where = (text, port, 0, 0) if family == socket.AF_INET6 else (text, port)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where


def _say(error: OSError) -> str:
    """What went wrong after the socket was connected."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message or error}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case _:
            return "TLS failed: the connection was cut"
