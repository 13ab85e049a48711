"""Signed webhooks by an aiohttp client session, as a careful program would send them: one request under way at each receiver.

Usage: `python -m tests.bench.references.webhooks_aiohttp CHANGES SECRET PORT…`; CHANGES has one change a line. Ends when all are delivered.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import msgspec
import uvloop


class Shown(msgspec.Struct):
    """What the headers need of a change."""

    seq: int
    id: str
    type: str
    time: str
    thing: str
    name: str


async def deliver(session: aiohttp.ClientSession, changes: Sequence[bytes], key: bytes, port: int) -> None:
    """All changes to one receiver, the next after a 2xx."""
    url = f"http://127.0.0.1:{port}/hook"
    decode = msgspec.json.Decoder(Shown).decode
    for change in changes:
        shown = decode(change)
        body = b'{"type":"%s","timestamp":"%s","data":%s}' % (shown.type.encode(), shown.time.encode(), change)
        headers = signed(shown, body, key)
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            await response.read()
            assert 200 <= response.status < 300, response.status


def signed(shown: Shown, body: bytes, key: bytes) -> dict[str, str]:
    """The headers that a delivery of the gateway carries."""
    timestamp = str(int(time.time()))
    text = b"%s.%s.%s" % (shown.id.encode(), timestamp.encode(), body)
    return {
        "User-Agent": "Reference/1",
        "Content-Type": "application/json",
        "webhook-id": shown.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode(),
        "ce-specversion": "1.0",
        "ce-id": shown.id,
        "ce-source": "urn:reference:bench",
        "ce-type": shown.type,
        "ce-time": shown.time,
        "ce-subject": f"{shown.thing}/{shown.name}",
        "ce-sequence": f"{shown.seq:020d}",
    }


async def main(file: Path, secret: str, ports: Sequence[int]) -> None:
    changes = file.read_bytes().splitlines()
    key = base64.b64decode(secret.removeprefix("whsec_"))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=15),
    ) as session:
        await asyncio.gather(*(deliver(session, changes, key, port) for port in ports))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2], [int(word) for word in sys.argv[3:]]))
