"""Where a broker is: the URLs of `mqtt.urls`."""

from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.core.errors import ConfigError, Fault

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_PATH = "/mqtt"  # where most brokers have their WebSocket


class Address(NamedTuple):
    """Host and port of a broker, and whether to speak TLS with it; with a path it is spoken to over WebSocket."""

    host: str
    port: int
    is_tls: bool
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ws' if self.path else 'mqtt'}{'s' if self.is_tls else ''}://{host}:{self.port}{self.path}"


def parse_address(url: str) -> Address:
    """The address that a URL names, with the port that is usual for its scheme and, over WebSocket, `/mqtt`, unless it says others.

    Raises:
        ConfigError: it is no URL of a broker, or holds a user name or password, which have keys of their own.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _fault(url, str(error), "write it as mqtts://broker.example:8883") from error
    if parts.scheme not in _PORTS:
        raise _fault(url, "its scheme is not one that the gateway can speak", f"use one of {', '.join(_PORTS)}")
    if parts.username is not None or parts.password is not None:
        bare = f"{parts.scheme}://…"
        raise _fault(bare, "it holds credentials", "use mqtt.username and mqtt.password_file")
    is_websocket = parts.scheme in ("ws", "wss")
    if not host or parts.query or parts.fragment or (parts.path not in ("", "/") and not is_websocket):
        example = "wss://broker.example/mqtt" if is_websocket else "mqtts://broker.example:8883"
        raise _fault(url, "it is not the address of a broker", f"write it as {example}")
    path = (parts.path or _PATH) if is_websocket else ""
    return Address(host, port or _PORTS[parts.scheme], parts.scheme in ("mqtts", "wss"), path)


def _fault(url: str, what: str, mend: str) -> ConfigError:
    return ConfigError([Fault("", None, "mqtt.urls", f"{url}: {what}", mend)])
