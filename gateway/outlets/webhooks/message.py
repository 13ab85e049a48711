"""What one delivery carries: the body around already encoded changes, and CloudEvents headers in binary mode.

Body: `{"type":…,"timestamp":…,"data":{the change}}` (Standard Webhooks W-6). A subscription with `batch` gets `"type":"batch"`, the newest
change's time and id, and in `data` an array of changes in order, one or more; its receiver drops doubles by the `id` of each change, for
the batches of two attempts may be cut differently once a change is refused.

CloudEvents 1.0, HTTP binding, binary mode (W-28): `ce-id` is the `webhook-id`, the change's own id.
"""

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

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What a ce-* value keeps: printable ASCII but space, `"` and `%` (CloudEvents HTTP binding, section 3.1.3.2)."""


class Message(NamedTuple):
    """One body and the headers that stay the same over its attempts. `seqs` are the first and the last seq; 0 for a ping."""

    id: str
    type: str
    body: bytes
    headers: Mapping[str, str]
    seqs: tuple[int, int] = (0, 0)


class Writer:
    """Makes messages. `source` is the CloudEvents source of this gateway."""

    def __init__(self, gateway_id: str, epoch: str) -> None:
        self._source = _percent(f"urn:hearthgate:{gateway_id}")
        self._epoch = epoch

    def change(self, entry: Entry) -> Message:
        """The message of one change."""
        time = time_of(entry.body)
        body = b'{"type":"%s","timestamp":"%s","data":%s}' % (entry.type.encode(), time.encode(), entry.body)
        subject = "/".join(filter(None, (entry.thing, entry.name)))
        return self._message(self._id(entry.seq), entry.type, time, body, subject, (entry.seq, entry.seq))

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
        message = self.batch([entry]) if batched else self.change(entry)
        return message._replace(id=id, headers={**message.headers, "webhook-id": id, "ce-id": id})

    def _id(self, seq: int) -> str:
        return f"{self._epoch}-{seq}"

    def _message(self, id: str, type: str, time: str, body: bytes, subject: str, seqs: tuple[int, int]) -> Message:
        headers = {
            "User-Agent": USER_AGENT,
            "Content-Type": "application/json",
            "webhook-id": id,
            "ce-specversion": "1.0",
            "ce-id": id,
            "ce-source": self._source,
            "ce-type": type,
            "ce-time": time,
        }
        if subject:
            headers["ce-subject"] = _percent(subject)
        if seqs[1]:
            headers["ce-sequence"] = f"{seqs[1]:0{SEQUENCE_DIGITS}d}"
        return Message(id, type, body, headers, seqs)


def _percent(text: str) -> str:
    """A ce-* header's value: everything but printable ASCII, and space, `"` and `%`, as the %XX of its UTF-8 bytes."""
    return quote(text, safe=_PRINTABLE)
