"""Signed webhooks by a bare protocol that neither judges addresses nor understands an answer: what the machine and Python allow.

Usage: as `webhooks_aiohttp`.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import uvloop

from tests.bench.references.webhooks_aiohttp import Shown

HEAD = (
    "POST /hook HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: Reference/1\r\nContent-Type: application/json\r\n"
    "ce-specversion: 1.0\r\nce-source: urn:reference:bench\r\n"
)
REST = (
    "webhook-id: %s\r\nwebhook-timestamp: %d\r\nwebhook-signature: v1,%s\r\nce-id: %s\r\nce-type: %s\r\nce-time: %s\r\n"
    "ce-subject: %s/%s\r\nce-sequence: %020d\r\nContent-Length: %d\r\n\r\n"
)


class Deliverer(asyncio.Protocol):
    """Writes the next change whenever bytes that begin with a 2xx come back."""

    def __init__(self, changes: Sequence[bytes], key: bytes, port: int) -> None:
        self.is_done = asyncio.get_running_loop().create_future()
        self._requests = requests(changes, key, port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._write()

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 2"), data
        self._write()

    def _write(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self.is_done.set_result(None)
        else:
            self._transport.write(request)  # type: ignore[attr-defined]


def requests(changes: Sequence[bytes], key: bytes, port: int) -> Iterator[bytes]:
    """The finished bytes of each delivery, signed when it is asked for."""
    head = HEAD % port
    decode = msgspec.json.Decoder(Shown).decode
    for change in changes:
        shown, now_s = decode(change), int(time.time())
        body = b'{"type":"%s","timestamp":"%s","data":%s}' % (shown.type.encode(), shown.time.encode(), change)
        digest = hmac.digest(key, b"%s.%d.%s" % (shown.id.encode(), now_s, body), "sha256")
        rest = REST % (
            shown.id,
            now_s,
            base64.b64encode(digest).decode(),
            shown.id,
            shown.type,
            shown.time,
            shown.thing,
            shown.name,
            shown.seq,
            len(body),
        )
        yield (head + rest).encode() + body


async def main(file: Path, secret: str, ports: Sequence[int]) -> None:
    changes = file.read_bytes().splitlines()
    key = base64.b64decode(secret.removeprefix("whsec_"))
    loop = asyncio.get_running_loop()
    deliverers = [Deliverer(changes, key, port) for port in ports]
    for deliverer, port in zip(deliverers, ports, strict=True):
        await loop.create_connection(lambda one=deliverer: one, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(deliverer.is_done for deliverer in deliverers))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2], [int(word) for word in sys.argv[3:]]))
