"""The addresses the outlet listens on: `[::]:8420` is both families, TLS where a certificate is given."""

import socket
import ssl
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Final

from gateway.core.errors import GatewayError

BACKLOG: Final = 4096
"""Thousands of held clients come back at once after a restart."""


class ListenError(GatewayError):
    """An address cannot be listened on."""

    can_retry = True

    def __init__(self, where: str, what: str, hint: str) -> None:
        self.where, self.what, self.hint = where, what, hint
        super().__init__(f"http: cannot listen on {where}: {what}; {hint}")


def open_sockets(listen: Iterable[str]) -> list[socket.socket]:
    """Bound sockets for `host:port` addresses, all or none. IPv6 hosts are in brackets; no host means every address of both families.

    Raises:
        ListenError: one of them cannot be had.
    """
    opened: list[socket.socket] = []
    try:
        opened.extend(_open(where) for where in listen)
    except ListenError:
        for sock in opened:
            sock.close()
        raise
    return opened


def tls_context(cert_file: str, key_file: str) -> ssl.SSLContext | None:
    """The server's side of TLS; None without a certificate.

    Raises:
        ListenError: the files cannot be used.
    """
    if not cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(
            cert_file, str(error), "http.cert_file and http.key_file have to be a PEM pair it may read"
        ) from error
    return context


def address_of(sock: socket.socket) -> str:
    """`host:port` as bound, IPv6 in brackets."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _open(where: str) -> socket.socket:
    host, _, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "::"
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ListenError(where, "it has no port", "write it as host:port, [::]:8420 for all addresses")
    try:
        return _bind(host, int(port))
    except OSError as error:
        if host == "::" and not _has_ipv6():
            with suppress(OSError):
                return _bind("0.0.0.0", int(port))  # noqa: S104 - it is what [::] asks for where there is no IPv6
        hint = (
            f"`ss -ltnp 'sport = :{port}'` names who has the port"
            if port != "0"
            else "is the address one of this machine's?"
        )
        raise ListenError(where, error.strerror or str(error), hint) from error


def _bind(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(BACKLOG)  # here, so that a port that is taken is known before anything starts
    except OSError:
        sock.close()
        raise
    return sock


def _has_ipv6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True
