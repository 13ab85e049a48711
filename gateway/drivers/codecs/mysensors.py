"""The MySensors serial API 2.x, purely: bytes in, messages out; messages in, bytes out. No clock, no I/O.

`node;child;command;ack;type;payload`, ended by LF (MySensors, Serial Protocol 2.x). There is no checksum: a line is refused for all that it
can be known to be wrong by. The payload is the rest of the line, without the white space at its end; it may hold semicolons (V_POSITION).

Nothing that comes in raises: each line that ended becomes exactly one message or one `Refusal`, so that counts add up.
"""

import re
from typing import Final, NamedTuple

from gateway.core.errors import ProtocolError
from gateway.drivers.codecs.lines import LineCutter

PRESENTATION, SET, REQ, INTERNAL, STREAM = range(5)
"""The commands."""

GATEWAY, BROADCAST, MAX_NODE = 0, 255, 254
"""Nodes: the gateway itself; all of them, or one that has no id yet; the highest that one can have."""

OF_NODE: Final = 255
"""The child that stands for the node itself."""

MAX_LINE = 512
"""Longest line that is taken, in bytes. The library itself writes none beyond 120 (MY_GATEWAY_MAX_SEND_LENGTH), logs included."""

MAX_PAYLOAD = 25
"""What a radio message carries, in bytes (MyMessage.h: 32 less a header of 7)."""

REASONS = ("empty", "too-long", "not-text", "fields", "not-a-number", "out-of-range", "out-of-place", "partial")
"""Of refusals."""

I_ID_REQUEST, I_ID_RESPONSE = 3, 4


class Message(NamedTuple):
    """One line. `ack`: asks for an echo on the way out, is one on the way in."""

    node: int
    child: int
    command: int
    ack: int
    type: int
    payload: str = ""


class Refusal(NamedTuple):
    """A line that is none: a reason of `REASONS`, what is wrong in words, how it began."""

    reason: str
    detail: str
    start: bytes


class LineDecoder:
    """Cuts a stream of bytes into lines and says what each means. Holds at most one unfinished line.

    The first line may be the tail of one that was being sent when the port was opened: what is wrong with it is called `partial`.
    """

    def __init__(self) -> None:
        self._cutter = LineCutter(MAX_LINE)
        self._may_be_partial = True

    def feed(self, data: bytes) -> list[Message | Refusal]:
        """Takes what the line brought; returns what the lines that ended in it mean, in their order.

        A line beyond `MAX_LINE` is refused once, as soon as that is certain; what follows up to its newline belongs to it.
        """
        return [self._judge(line) for line in self._cutter.feed(data)]

    def _judge(self, line: bytes) -> Message | Refusal:
        try:
            return _decode(line)
        except ProtocolError as error:
            reason = "partial" if self._may_be_partial and error.reason not in ("empty", "too-long") else error.reason
            return Refusal(reason, error.detail, line[:80])
        finally:
            self._may_be_partial = False


def encode(message: Message) -> bytes:
    """The line of a message.

    Raises:
        ProtocolError: its payload cannot be carried.
    """
    payload = message.payload
    if not _is_text(payload):
        raise ProtocolError("not-text", "a line break or another control character")
    size = len(payload.encode("utf-8", "surrogatepass"))
    if size > MAX_PAYLOAD:
        raise ProtocolError("too-long", f"{size} bytes, and a radio message carries {MAX_PAYLOAD}")
    try:
        return (";".join(map(str, message[:5])) + f";{payload}\n").encode()
    except UnicodeEncodeError as error:
        raise ProtocolError("not-text", "half of a surrogate pair") from error


def _decode(line: bytes) -> Message:
    if len(line) > MAX_LINE:
        raise ProtocolError("too-long", f"more than {MAX_LINE} bytes")
    try:
        text = line.decode().rstrip()
    except UnicodeDecodeError as error:
        raise ProtocolError("not-text", f"byte {error.start}: {error.reason}") from error
    if not text:
        raise ProtocolError("empty")
    found = _LINE.match(text)
    if found is None:
        raise _complaint(text)
    node, child, command, ack, type = map(int, found.group(1, 2, 3, 4, 5))
    payload = found.group(6)
    if node > BROADCAST or child > OF_NODE or command > STREAM or ack > 1 or type > 255:
        raise ProtocolError("out-of-range", ";".join(found.group(1, 2, 3, 4, 5)))
    if not _is_text(payload):
        raise ProtocolError("not-text", "a control character")
    _check_place(node, child, command, type)
    return Message(node, child, command, ack, type, payload)


_LINE = re.compile(r"([0-9]{1,3});([0-9]{1,3});([0-9]);([0-9]);([0-9]{1,3});(.*)\Z", re.DOTALL)


def _complaint(text: str) -> ProtocolError:
    fields = text.split(";", 5)
    if len(fields) < 6:
        return ProtocolError("fields", f"{len(fields)} instead of 6")
    if all(re.fullmatch("[0-9]+", field) for field in fields[:5]):
        return ProtocolError("out-of-range", ";".join(fields[:5]))
    return ProtocolError("not-a-number", ";".join(fields[:5]))


def _check_place(node: int, child: int, command: int, type: int) -> None:
    """Raises ProtocolError for what no library sends from there."""
    is_about_ids = command == INTERNAL and type in (I_ID_REQUEST, I_ID_RESPONSE)
    if command in (SET, REQ) and child == OF_NODE:
        raise ProtocolError("out-of-place", "a value of no child")
    if command in (INTERNAL, STREAM) and child != OF_NODE and not is_about_ids:
        raise ProtocolError("out-of-place", f"child {child} has nothing to say about its node")
    if node == BROADCAST and not is_about_ids:
        raise ProtocolError("out-of-place", "a node without an id can only ask for one")


def _is_text(payload: str) -> bool:
    return not payload or payload.isprintable() or all(char >= " " and char != "\x7f" for char in payload)
