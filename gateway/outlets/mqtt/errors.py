"""What can go wrong between us and a broker, and how the dialling has to take it."""

import ssl
from enum import Enum

from gateway.core.errors import DeliveryError


class Trouble(Enum):
    """The kinds of trouble that call for different answers."""

    AWAY = "away"  # not reachable: try again soon
    SILENT = "silent"  # took the connection and never answered: frozen, or it cannot read a CONNECT of MQTT 5
    EARLY_CLOSE = "early-close"  # closed before its CONNACK: perhaps it does not know MQTT 5
    PROTOCOL = "protocol"  # it says that it does not know this version of MQTT
    REFUSED = "refused"  # it does not want us: trying often will not help
    TAKEN_OVER = "taken-over"  # somebody else came with our client id
    LOST = "lost"  # an open connection ended


class BrokerError(DeliveryError):
    """A connection that could not be made, or was lost. `where` never holds a password."""

    can_retry = True

    def __init__(self, where: str, trouble: Trouble, what: str, hint: str = "") -> None:
        self.where, self.trouble, self.what, self.hint = where, trouble, what, hint
        super().__init__(f"{where}: {what}" + (f"; {hint}" if hint else ""))


_HINTS = {
    0x84: 'it does not know this version of MQTT; set mqtt.protocol = "auto"',
    0x85: "it does not accept the client id; set mqtt.client_id to one that it does",
    0x86: "check mqtt.username and the password's file",
    0x87: "check mqtt.username, the password's file, and what the broker allows this user",
    0x8A: "its administrator has banned this client",
    0x8C: "it wants another way of authentication than user name and password",
    0x8E: "another client uses the same client id; give each gateway its own gateway.id, or set mqtt.client_id",
    0x90: "it does not allow the topic of our will; check mqtt.base and the broker's access list",
    0x95: "raise the broker's maximum packet size",
    0x9A: "it keeps no retained messages, which the gateway needs; allow them on the broker",
    0x9B: "it does not allow QoS 1, which the gateway needs; allow it on the broker",
}
_REFUSALS = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x9A, 0x9B})


def refusal(where: str, code: int, name: str, server_says: str = "") -> BrokerError:
    """The error of a CONNACK that is no success (MQTT 5 section 3.2.2.2; paho maps the codes of 3.1.1 to these)."""
    trouble = Trouble.PROTOCOL if code == 0x84 else Trouble.REFUSED if code in _REFUSALS else Trouble.AWAY
    return BrokerError(where, trouble, f"the broker refuses: {_said(code, name, server_says)}", _HINTS.get(code, ""))


def dismissal(where: str, code: int, name: str, server_says: str = "") -> BrokerError:
    """The error of a DISCONNECT that the broker sent (MQTT 5 section 3.14.2.1)."""
    trouble = Trouble.TAKEN_OVER if code == 0x8E else Trouble.LOST
    what = f"the broker ended the connection: {_said(code, name, server_says)}"
    return BrokerError(where, trouble, what, _HINTS.get(code, ""))


def unreachable(where: str, error: OSError, timeout_s: float) -> BrokerError:
    """The error of a connection that could not be opened."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what, hint = (
            f"its certificate is not accepted: {error.verify_message}",
            "check mqtt.ca_file and the host's name",
        )
    elif isinstance(error, ssl.SSLError):
        what, hint = f"no TLS with it: {error.reason or error}", "does that port speak TLS?"
    elif isinstance(error, TimeoutError):
        what, hint = f"no connection within {timeout_s:g} s", "is the network up, and the broker's name right?"
    else:
        what, hint = f"cannot connect: {error.strerror or error}", "is the broker running, and its name right?"
    return BrokerError(where, Trouble.AWAY, what, hint)


def turned_away(where: str, status: int, reason: str, location: str) -> BrokerError:
    """The error of an HTTP server that opens no WebSocket; `location` is where a redirect leads, which is not followed."""
    trouble = Trouble.REFUSED if status in (401, 403) else Trouble.AWAY
    what = f"it answers {status} {reason:.60}".rstrip() + " instead of opening a WebSocket"
    if 300 <= status < 400 and location:
        target = location.partition("?")[0]  # the rest may hold a secret
        hint = f"it sends us to {target:.200}; if the broker is there, write that address into mqtt.urls as ws:// or wss://"
    elif status in (401, 403):
        hint = "the web server in front of the broker wants a login or does not allow this client; MQTT itself was not reached"
    elif status >= 500:
        hint = "is the broker behind that web server running?"
    else:
        hint = "the path is probably wrong; write the broker's own into mqtt.urls, as in wss://broker.example/mqtt"
    return BrokerError(where, trouble, what, hint)


def _said(code: int, name: str, server_says: str) -> str:
    return f"{name.lower()} (0x{code:02X})" + (f", {server_says!r:.200}" if server_says else "")
