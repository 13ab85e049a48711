"""What one delivery carries: the body around already encoded changes, and CloudEvents headers in binary mode.

Body: `{"type":…,"timestamp":…,"data":{the change}}` (Standard Webhooks W-6). A subscription with `batch` gets `"type":"batch"`, the newest
change's time and id, and in `data` an array of changes in order, one or more; its receiver drops doubles by the `id` of each change, for
the batches of two attempts may be cut differently once a change is refused.

CloudEvents 1.0, HTTP binding, binary mode (W-28): `ce-id` is the `webhook-id`, the change's own id.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from gateway import __version__
from gateway.core.change import Entry, time_of

PING = "webhook.ping"
BATCH = "batch"
USER_AGENT = f"Hearthgate/{__version__}"
SEQUENCE_DIGITS = 20
SHARED = 256
"""The newest messages that are kept for other lines."""

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What a ce-* value keeps: printable ASCII but space, `"` and `%` (CloudEvents HTTP binding, section 3.1.3.2)."""

_PLAIN = re.compile(f"[{re.escape(_PRINTABLE)}]*")


class Message(NamedTuple):
    """One body and the headers that stay the same over its attempts, as finished lines. `seqs` are the first and the last seq; 0 for a
    ping."""

    id: str
    type: str
    body: bytes
    lines: bytes
    seqs: tuple[int, int] = (0, 0)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name."""
        return dict(line.split(": ", 1) for line in self.lines.decode("ascii").splitlines())


class Writer:
    """Makes messages. `source` is the CloudEvents source of this gateway."""

    def __init__(self, gateway_id: str, epoch: str) -> None:
        self._source = _percent(f"urn:hearthgate:{gateway_id}")
        self._epoch = epoch
        self._made: dict[int, tuple[bytes, Message]] = {}

    def change(self, entry: Entry) -> Message:
        """The message of one change. Lines that stand at the same place share it."""
        made = self._made.get(entry.seq)
        if made is not None and made[0] == entry.body:
            return made[1]
        message = self._change(entry)
        if len(self._made) >= SHARED:
            del self._made[next(iter(self._made))]
        self._made[entry.seq] = (entry.body, message)
        return message

    def batch(self, entries: Sequence[Entry]) -> Message:
        """The message of several changes in order (at least one)."""
        time, last = time_of(entries[-1].body), entries[-1].seq
        data = b",".join([entry.body for entry in entries])
        body = b'{"type":"batch","timestamp":"%s","data":[%s]}' % (time.encode(), data)
        return self._message(self._id(last), BATCH, time, body, "", (entries[0].seq, last))

    def ping(self, subscription: str, time: str) -> Message:
        """A test that stands outside the journal; each has an id of its own."""
        body = b'{"type":"%s","timestamp":"%s","data":{"subscription":"%s"}}'
        filled = body % (PING.encode(), time.encode(), subscription.encode())
        return self._message(f"ping-{secrets.token_hex(8)}", PING, time, filled, "", (0, 0))

    def letter(self, id: str, entry: Entry, *, batched: bool) -> Message:
        """The message of a kept change, which may be an older journal's: its own id stays."""
        message = self.batch([entry]) if batched else self._change(entry)
        lines = self._lines(id, message.type, time_of(entry.body), "" if batched else _subject(entry), message.seqs[1])
        return message._replace(id=id, lines=lines)

    def _id(self, seq: int) -> str:
        return f"{self._epoch}-{seq}"

    def _change(self, entry: Entry) -> Message:
        time = time_of(entry.body)
        body = b'{"type":"%s","timestamp":"%s","data":%s}' % (entry.type.encode(), time.encode(), entry.body)
        return self._message(self._id(entry.seq), entry.type, time, body, _subject(entry), (entry.seq, entry.seq))

    def _message(self, id: str, type: str, time: str, body: bytes, subject: str, seqs: tuple[int, int]) -> Message:
        return Message(id, type, body, self._lines(id, type, time, subject, seqs[1]), seqs)

    def _lines(self, id: str, type: str, time: str, subject: str, seq: int) -> bytes:
        """The header lines, none of whose values can end its line, whatever was stored."""
        id = _percent(id)
        lines = (
            f"User-Agent: {USER_AGENT}\r\nContent-Type: application/json\r\nwebhook-id: {id}\r\nce-specversion: 1.0\r\n"
            f"ce-id: {id}\r\nce-source: {self._source}\r\nce-type: {_percent(type)}\r\nce-time: {_percent(time)}\r\n"
        )
        if subject:
            lines += f"ce-subject: {_percent(subject)}\r\n"
        if seq:
            lines += f"ce-sequence: {seq:0{SEQUENCE_DIGITS}d}\r\n"
        return lines.encode("ascii")


def _subject(entry: Entry) -> str:
    return "/".join(filter(None, (entry.thing, entry.name)))


def _percent(text: str) -> str:
    """A ce-* header's value: everything but printable ASCII, and space, `"` and `%`, as the %XX of its UTF-8 bytes."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=_PRINTABLE)
