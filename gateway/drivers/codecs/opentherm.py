"""The serial lines of an OpenTherm Gateway (https://otgw.tclcode.com/firmware.html): frames that it has seen, answers to commands.

A frame is a letter and eight hex digits. T: from the thermostat, B: from the boiler, R: what the gateway asks the boiler instead, A: what
it answers the thermostat instead, E: one with a fault. The 32 bits are an even parity bit, the message type (3), four spare bits, the data
id (8) and the value (16), as OpenTherm has them (protocol specification 2.2, chapter 4).
"""

import re
from typing import Literal, NamedTuple

By = Literal["T", "B", "R", "A"]

READ_DATA, WRITE_DATA, INVALID_DATA, _, READ_ACK, WRITE_ACK, DATA_INVALID, UNKNOWN_ID = range(8)
"""Message types; the first four are a thermostat's, the others a boiler's. (3 is reserved.)"""

LINE_MAX = 256
"""Longer lines are none: the longest that the firmware prints is its greeting."""

_FRAME = re.compile(rb"([TBRAE])([0-9A-F]{8})")
_REPLY = re.compile(rb"([A-Z]{2}): ?(.*)")
_FAULT = re.compile(rb"Error (0[1-4])")
_REFUSED = frozenset({"NG", "SE", "BV", "OR", "NS", "NF", "OE"})
_TEXT = re.compile(rb"[ -~]+")


class Frame(NamedTuple):
    """One frame that was right."""

    by: By
    type: int
    id: int
    value: int

    @property
    def is_request(self) -> bool:
        """A thermostat's (or the gateway's in its place), rather than an answer."""
        return self.type < READ_ACK


class Reply(NamedTuple):
    """The answer to a command: its two letters, and what the gateway has made of it."""

    command: str
    text: str


class Refused(NamedTuple):
    """A command was not taken: NG (unknown), SE (syntax), BV (bad value), OR (out of range), NS (no room), NF (not found), OE (overrun)."""

    code: str


class BusFault(NamedTuple):
    """The gateway has heard something that is no OpenTherm: `Error 01` to `Error 04`."""

    code: int


class Greeting(NamedTuple):
    """Any other text: what it prints when it starts, among others."""

    text: str


class Dropped(NamedTuple):
    """A line that is nothing of this."""

    reason: str
    start: bytes


Message = Frame | Reply | Refused | BusFault | Greeting | Dropped


class LineDecoder:
    """Bytes in, messages out; never raises.

    Args:
        first_may_be_partial: the first line may have begun before we listened.
    """

    def __init__(self, *, first_may_be_partial: bool = False) -> None:
        self._left = b""
        self._is_partial = first_may_be_partial
        self._is_skipping = False

    def feed(self, data: bytes) -> list[Message]:
        """The messages of all lines that have ended."""
        *lines, self._left = (self._left + data).replace(b"\r", b"\n").split(b"\n")
        found: list[Message] = []
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False
                continue
            message = self._message(line.strip())
            if message is not None:
                found.append(message)
        if len(self._left) > LINE_MAX:
            if not self._is_skipping:
                found.append(Dropped("too-long", self._left[:16]))
            self._left, self._is_skipping = b"", True
        return found

    def _message(self, line: bytes) -> Message | None:
        if not line:
            return None
        is_partial, self._is_partial = self._is_partial, False
        if len(line) > LINE_MAX:
            return Dropped("too-long", line[:16])
        message = parse(line)
        if is_partial and not isinstance(message, Frame | Reply | BusFault):
            return Dropped("partial", line[:16])
        return message


def parse(line: bytes) -> Message:
    """What one line says."""
    if frame := _FRAME.fullmatch(line):
        return _frame(frame[1].decode(), int(frame[2], 16), line)
    if fault := _FAULT.fullmatch(line):
        return BusFault(int(fault[1]))
    if not _TEXT.fullmatch(line):
        return Dropped("noise", line[:16])
    if reply := _REPLY.fullmatch(line):
        return Reply(reply[1].decode(), reply[2].decode().strip())
    text = line.decode()
    if text in _REFUSED:
        return Refused(text)
    if re.fullmatch(r"[TBRAE]?[0-9A-F]+", text):
        return Dropped("malformed", line[:16])
    return Greeting(text)


def _frame(by: str, bits: int, line: bytes) -> Message:
    if by == "E":
        return Dropped("bus-error", line)
    if bits.bit_count() % 2:
        return Dropped("parity", line)
    frame = Frame(by, bits >> 28 & 7, bits >> 16 & 0xFF, bits & 0xFFFF)  # type: ignore[arg-type]
    if frame.is_request != (by in "TR"):
        return Dropped("wrong-direction", line)
    return frame


def encode_command(command: str, value: str) -> bytes:
    """A command's line, such as `TT=21.00`."""
    return f"{command}={value}\r".encode("ascii")
