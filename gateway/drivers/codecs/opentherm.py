"""The serial language of the OpenTherm Gateway, purely: bytes in, lines out; commands in, bytes out. No clock, no I/O.

Source: the gateway's firmware page (otgw.tclcode.com/firmware.html) and lines recorded from firmware 6.6. A frame is a letter and eight
hex digits: `T` thermostat to gateway, `R` gateway to boiler (the request was changed), `B` boiler to gateway, `A` gateway to thermostat
(the answer was changed), `E` received with errors. The 32 bits: even parity, message type (3), spare (4), data id (8), value (16). When R
follows T, B answers the id in R and A the one in T; every frame carries its own id, so nothing has to be remembered from one to the next.

Nothing that comes in raises: each line that ended becomes exactly one of the classes below.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from gateway.core.errors import ProtocolError
from gateway.drivers.codecs.lines import LineCutter

MAX_LINE = 512
"""Longest line that is taken, in bytes. The longest that a gateway prints is its summary (`PS=1`), about 250."""

ERRORS = {
    "NG": "unknown command",
    "SE": "syntax error",
    "BV": "bad value",
    "OR": "out of range",
    "NS": "no space",
    "NF": "not found",
    "OE": "overrun",
}
"""What the two letters mean that come in place of a value."""

Source = Literal["T", "B", "R", "A", "E"]


class MessageType(IntEnum):
    """OpenTherm protocol specification 2.2, section 4.2."""

    READ_DATA = 0
    WRITE_DATA = 1
    INVALID_DATA = 2
    RESERVED = 3
    READ_ACK = 4
    WRITE_ACK = 5
    DATA_INVALID = 6
    UNKNOWN_ID = 7


@dataclass(frozen=True, slots=True)
class Frame:
    """One OpenTherm message and who said it."""

    source: Source
    type: MessageType
    id: int
    value: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What the gateway answered to a command: `TT: 21.00`, `PR: M=G`. `value` is one of `ERRORS` where it refused."""

    code: str
    value: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal that does not say of what: two letters on a line of their own."""

    error: str


@dataclass(frozen=True, slots=True)
class BusError:
    """`Error 01` to `Error 04`: what the gateway could not receive from the bus."""

    number: int


@dataclass(frozen=True, slots=True)
class Banner:
    """`OpenTherm Gateway 6.6`: it was reset, and has forgotten overrides."""

    firmware: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that is none of these."""

    reason: Literal["empty", "too-long", "not-ascii", "parity", "partial", "fragment", "text"]
    start: bytes


Line = Frame | Reply | Failure | BusError | Banner | Refusal

_FRAME = re.compile(rb"([TBRAE])([0-9A-F]{8})\Z")
_REPLY = re.compile(r"([A-Z][A-Z0-9]): ?(\S.*)\Z")
_BUS_ERROR = re.compile(r"Error 0([1-4])\Z")
_BANNER = re.compile(r"OpenTherm Gateway (\d+(?:\.\w+)*)\Z")
_FRAGMENT = re.compile(r"[TBRAE]?[0-9A-F]{1,8}\Z")
_COMMAND = re.compile(r"[A-Z][A-Z0-9]\Z")
_VALUE = re.compile(r"[ -~]{1,32}\Z")
_EOT = b"\x04"
"""Comes with a reset of the gateway: what stands before it in a line is no part of it (observed by pyotgw)."""
_TYPES = tuple(MessageType)


class LineDecoder:
    """Cuts a stream of bytes into lines and says what each means. Holds at most one unfinished line of `MAX_LINE` bytes.

    The port may have been opened in the middle of a line: a first one that cannot be understood is `partial`.
    """

    def __init__(self) -> None:
        self._may_be_partial = True
        self._cutter = LineCutter(MAX_LINE + 1)

    def feed(self, data: bytes) -> list[Line]:
        """Takes what came; returns what the lines that ended in it mean, in their order."""
        return [self._judge(line) for line in self._cutter.feed(data)]

    def _judge(self, line: bytes) -> Line:
        meant = decode(line.removesuffix(b"\r"))
        if self._may_be_partial and isinstance(meant, Refusal) and meant.reason not in ("empty", "too-long"):
            meant = Refusal("partial", meant.start)
        self._may_be_partial = False
        return meant


def decode(line: bytes) -> Line:
    """What one line means, without its line end."""
    if len(line) > MAX_LINE:
        return Refusal("too-long", line[:80])
    if _EOT in line:
        line = line.rpartition(_EOT)[2]
    frame = _FRAME.match(line)
    if frame is not None:
        return _frame(frame[1].decode(), int(frame[2], 16), line)
    if not line:
        return Refusal("empty", b"")
    if not line.isascii():
        return Refusal("not-ascii", line[:80])
    return _text(line.decode("ascii"), line)


def encode_command(code: str, value: str) -> bytes:
    """The line that asks the gateway for something.

    Raises:
        ProtocolError: it cannot be written so (`not-a-command`).
    """
    if not _COMMAND.match(code) or not _VALUE.match(value):
        raise ProtocolError("not-a-command", f"{code}={value}")
    return f"{code}={value}\r\n".encode("ascii")


def _frame(source: str, bits: int, line: bytes) -> Line:
    if bits.bit_count() % 2 and source != "E":  # a frame that the gateway itself calls erroneous has any parity
        return Refusal("parity", line)
    return Frame(source, _TYPES[bits >> 28 & 7], bits >> 16 & 0xFF, bits & 0xFFFF)  # type: ignore[arg-type]


def _text(line: str, raw: bytes) -> Line:
    if line in ERRORS:
        return Failure(line)
    reply = _REPLY.match(line)
    if reply is not None:
        return Reply(reply[1], reply[2].rstrip())
    error = _BUS_ERROR.match(line)
    if error is not None:
        return BusError(int(error[1]))
    banner = _BANNER.match(line)
    if banner is not None:
        return Banner(banner[1])
    return Refusal("fragment" if _FRAGMENT.match(line) else "text", raw[:80])
