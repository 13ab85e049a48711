"""`socket://host:port`: a serial line at the far end of a TCP connection (ser2net, an ESP bridge, a simulator)."""

import asyncio
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from gateway.core.errors import LinkError
from gateway.links.base import say
from gateway.links.fd_port import FdPort

CONNECT_TIMEOUT_S = 5.0

# A peer that lost its power says nothing; with these it is known to have gone within half a minute.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


async def connect(url: str) -> FdPort:
    """
    Raises:
        LinkError: the URL is none, the name is unknown, or nobody takes the connection within `CONNECT_TIMEOUT_S`.
    """
    host, port = _address(url)
    loop = asyncio.get_running_loop()
    what = ""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                try:
                    return FdPort(await _connected(family, kind, protocol, address), url)
                except OSError as error:
                    what = say(error)
    except TimeoutError:
        what = f"no answer within {CONNECT_TIMEOUT_S:g} s"
    except OSError as error:
        what = say(error)
    raise LinkError(url, f"cannot be reached ({what})", f"see that something listens at port {port} of {host}")


async def _connected(family: int, kind: int, protocol: int, address: Any) -> int:
    """The descriptor of a new connection."""
    with socket.socket(family, kind, protocol) as connection:
        connection.setblocking(False)
        for level, option, value in _KEEP_ALIVE:
            connection.setsockopt(level, option, value)
        await asyncio.get_running_loop().sock_connect(connection, address)
        return os.dup(connection.fileno())


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise LinkError(url, "not an address", "write socket://host:port")
    return host, port
