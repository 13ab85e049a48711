"""Where a broker is: the URLs of `mqtt.urls`."""

from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.core.errors import ConfigError, Fault

_PORTS = {"mqtt": 1883, "mqtts": 8883}


class Address(NamedTuple):
    """Host and port of a broker, and whether to speak TLS with it."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{host}:{self.port}"


def parse_address(url: str) -> Address:
    """The address that a URL names; the port is 1883, or 8883 with TLS, unless it says another.

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
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _fault(url, "it is not the address of a broker", "write it as mqtts://broker.example:8883")
    return Address(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts")


def _fault(url: str, what: str, mend: str) -> ConfigError:
    return ConfigError([Fault("", None, "mqtt.urls", f"{url}: {what}", mend)])
