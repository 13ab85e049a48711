"""Where the gateway may call: which URLs are taken at all, and which addresses may be connected to.

A gateway on a LAN is special: private targets are often wanted, its own ports and the router are the prizes. A name is judged by the
addresses it has at the moment of connecting (`sender.py` asks again for every connection), so a name that moves to a forbidden address
is not followed there (standards W-21 to W-25).

`allow` names: `public-https` (public addresses, TLS only), `public-http` (public addresses, TLS or not), `lan` (private addresses:
RFC 1918, fc00::/7, 100.64.0.0/10), `loopback`; or networks such as `192.168.1.0/24`, which open whatever lies in them. The gateway's
own listening ports stay closed unless a network of that one address (`/32`, `/128`) opens them.
"""

import re
import socket
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from yarl import URL

from gateway.outlets.webhooks.errors import UrlRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAMES: Final = ("public-https", "public-http", "lan", "loopback")
DEFAULT_ALLOW: Final = ("public-https", "lan")
MAX_URL_CHARS: Final = 2048

_LAN: Final = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_METADATA: Final = frozenset(
    ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
"""Where cloud providers hand credentials to whoever asks from inside."""

_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_BROADCAST: Final = IPv4Address("255.255.255.255")
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_RELAYS: Final = IPv4Network("192.88.99.0/24")  # 6to4 relays, RFC 7526
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SCHEMES: Final = ("http", "https")


class Policy:
    """Judges URLs and addresses. It reads no names; that is the sender's part.

    Args:
        allow: names and networks as above.
        own_ports: ports on which this gateway listens.
        is_own: whether an address is this machine's.

    Raises:
        ValueError: `allow` has something that is neither a name nor a network.
    """

    def __init__(
        self,
        allow: Sequence[str] = DEFAULT_ALLOW,
        *,
        own_ports: Collection[int] = (),
        is_own: Callable[[Address], bool] | None = None,
    ) -> None:
        self._names = frozenset(item for item in allow if item in NAMES)
        self._networks = tuple(_network(item) for item in allow if item not in NAMES)
        self._own_ports = frozenset(own_ports)
        self._is_own = is_own or is_local
        self._judge = lru_cache(maxsize=1024)(self._judge_url)  # asked at each attempt; a refusal is not kept

    def check_url(self, text: str) -> URL:
        """The URL to call, as far as its text can tell; addresses are judged when connecting.

        Raises:
            UrlRefused: with what, why and the mend.
        """
        return self._judge(text)

    def check_address(self, address: Address, port: int, scheme: str) -> None:
        """Returns when this address may be connected to.

        Raises:
            UrlRefused: with what, why and the mend.
        """
        real = _unwrap(address)
        why = _never(real)
        if why:
            raise UrlRefused(str(address), why, "nothing can be delivered there; use the receiver's own address")
        opened = [network for network in self._networks if real in network]
        is_meant = any(network.prefixlen == network.max_prefixlen for network in opened)
        if not is_meant and port in self._own_ports and self._is_own(real):
            raise UrlRefused(
                f"{address} port {port}",
                "the gateway listens there itself",
                f'use the receiver\'s own address; or add "{real}/{real.max_prefixlen}" to webhooks.allow',
            )
        if opened:
            return
        kind = _kind(real, address)
        if kind in self._names:
            return
        if kind == "public":
            if "public-http" in self._names or (scheme == "https" and "public-https" in self._names):
                return
            if scheme == "http" and "public-https" in self._names:
                raise UrlRefused(
                    str(address),
                    "a public address is called by https only",
                    'use https, or add "public-http" to webhooks.allow',
                )
        raise UrlRefused(str(address), _WHY[kind], _mend(kind, real))

    def _judge_url(self, text: str) -> URL:
        url = parse_url(text)
        host = _host_of(url)
        address = _literal(host)
        if address is not None:
            self.check_address(address, url.port or 0, url.scheme)
        elif host == "localhost" or host.endswith(".localhost"):
            self.check_address(IPv4Address("127.0.0.1"), url.port or 0, url.scheme)
        elif url.scheme == "http" and not (self._names - {"public-https"} or self._networks):
            raise UrlRefused(host, "plain http is not allowed anywhere", "use https, or widen webhooks.allow")
        return url


def parse_url(text: str) -> URL:
    """Takes a URL apart, strictly, and with the parser that the sender uses.

    Raises:
        UrlRefused: it is none, or has parts that a callback must not have.
    """
    if not text or len(text) > MAX_URL_CHARS:
        raise UrlRefused("", f"a URL has 1 to {MAX_URL_CHARS} characters", "send a shorter one")
    if any(char <= " " or char == "\\" or char == "\x7f" for char in text):
        raise UrlRefused("", "it has a space, a backslash or a control character", "percent-encode it")
    if "#" in text:
        raise UrlRefused("", "it has a fragment, which no server ever sees", "leave out # and what follows")
    if not text.lower().startswith(("http://", "https://")):
        raise UrlRefused("", "it does not begin with https:// or http://", "send an absolute https URL")
    if "@" in re.split(r"[/?]", text.split("://", 1)[1], maxsplit=1)[0]:
        raise UrlRefused("", "it has a user name before the host", "leave it out; deliveries are signed instead")
    try:
        url = URL(text)
        port = url.port
        host = url.raw_host
    except ValueError as error:
        raise UrlRefused("", f"it is no URL: {error}", "send an absolute https URL") from None
    if url.scheme not in _SCHEMES or not host:
        raise UrlRefused("", "it names no host", "send an absolute https URL")
    if not port:
        raise UrlRefused(host, "port 0 cannot be called", "leave out the port, or name the receiver's")
    return url


def is_local(address: Address) -> bool:
    """Whether an address is this machine's own: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


@lru_cache(maxsize=256)
def address_of(text: str) -> Address:
    """The address in a socket's words, which may end in an interface (`fe80::1%eth0`)."""
    return ip_address(text)


_WHY: Final = {
    "loopback": "a loopback address is this machine itself",
    "link-local": "a link-local address may be a router or a cloud's metadata",
    "lan": "a private address is not allowed here",
    "public": "a public address is not allowed here",
    "reserved": "an address of this kind is reserved or leads through a tunnel",
}


def _mend(kind: str, address: Address) -> str:
    if kind in NAMES:
        return f'add "{kind}" to webhooks.allow'
    if kind == "public":
        return 'add "public-https" to webhooks.allow'
    return f'use another address; or add "{address}/{address.max_prefixlen}" to webhooks.allow'


def _never(address: Address) -> str:
    """Why no setting opens this address; `""` when one may."""
    if address.is_multicast:
        return "a multicast address is many machines"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "an unspecified address is this machine, or none"
    if address == _BROADCAST:
        return "a broadcast address is many machines"
    return ""


def _kind(address: Address, written: Address) -> str:
    if address in _METADATA or address.is_link_local:
        return "link-local"
    if address.is_loopback:
        return "loopback"
    if any(address in network for network in _LAN):
        return "reserved" if written in _NAT64 else "lan"
    return "public" if address.is_global and not _is_tunnel(address) else "reserved"


def _unwrap(address: Address) -> Address:
    """The IPv4 address that is really connected to, where IPv6 only wraps it (W-24)."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_tunnel(address: Address) -> bool:
    """6to4, Teredo, and everything in IPv6 that wraps IPv4 or is no global unicast: obsolete, or a way around the rules for IPv4."""
    if isinstance(address, IPv6Address):
        return bool(address.sixtofour or address.teredo or address not in _GLOBAL_UNICAST)
    return address in _RELAYS


def _host_of(url: URL) -> str:
    """The host in lower case, checked label by label; a name's one trailing dot is kept out."""
    raw = (url.raw_host or "").lower()
    if ":" in raw:
        return raw
    host = raw.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused(host[:80], "it is no host name", "use a DNS name or an IP address")
    if _NUMBER.fullmatch(labels[-1]) and (raw != host or _literal(host) is None):
        # inet_aton takes 0x7f.1, 017700000001 and 127.1 for addresses; people and policies do not
        raise UrlRefused(host, "it is a number that only some programs take for an address", "write it as 192.0.2.1")
    return host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is neither one of {', '.join(NAMES)} nor a network: {error}") from None
