"""Who is connected: so many connections for each client, and what of them was refused or too slow."""

import asyncio
import socket
from collections import Counter
from ipaddress import ip_address
from typing import Final

from gateway.outlets.http.answer import Answer, head_of, wall_s

IDLE_S: Final = 75.0
"""An idle connection is kept for so long between two requests."""

CLOSE_LINE: Final = b"Connection: close\r\n"
_UNSENT_BYTES: Final = 16_384
_UNACKNOWLEDGED_MS: Final = 60_000
"""A peer that acknowledges nothing for so long is gone, however open its connection looks (TCP_USER_TIMEOUT)."""


class Clients:
    """Counts connections, wherever in this room they are.

    Args:
        header_timeout_s: from the first byte of a request (or the connection's begin) to the end of its headers.
        max_per_client: connections that one address may hold, 0 for any number; loopback, where proxies are, is not counted.
    """

    def __init__(self, *, header_timeout_s: float, max_per_client: int) -> None:
        self.header_timeout_s = header_timeout_s
        self.max_per_client = max_per_client
        self.slow = 0
        self.refused = 0
        self._per_client: Counter[str] = Counter()

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


def leave_little_unsent(transport: asyncio.Transport) -> None:
    """Lets the kernel take little of what the client has no room for: it would take megabytes, and a slow client be seen late.

    TCP_NOTSENT_LOWAT of tcp(7); the window of a client that reads is as large as ever.
    """
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if sock is not None and option is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)


def tell_when_gone(transport: asyncio.Transport) -> None:
    """Lets the kernel end a connection whose peer vanished, so that it does not hold a place for hours."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if sock is not None and option is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, option, _UNACKNOWLEDGED_MS)
