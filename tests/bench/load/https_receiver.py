"""Receivers of webhooks by https, with the usage and the output of `webhook_receiver.c`; FOLDER also has `key.pem` and `certificate.pem`.

Usage: `python -m tests.bench.load.https_receiver RECEIVERS DELIVERIES SAMPLE_EVERY FOLDER`
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
import sys
import time
from pathlib import Path

import uvloop

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: receiver\r\nDate: Mon, 23 Nov 2026 16:00:00 GMT\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nOK"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_SEQ = re.compile(rb'"seq":([0-9]+)')


class Record:
    """What all receivers have had, and whether they answer yet."""

    def __init__(self, receivers: int, deliveries: int, sample_every: int, folder: Path) -> None:
        self.seqs: list[list[int]] = [[] for _ in range(receivers)]
        self.waiting: list[asyncio.Transport] = []
        self.is_going = False
        self._deliveries, self._sample_every, self._folder = deliveries, sample_every, folder
        self._samples = (folder / "samples").open("wb")
        self._missing = receivers
        self._begun_s = self._begun_cpu_s = 0.0

    def go(self) -> None:
        self.is_going = True
        self._begun_s, self._begun_cpu_s = time.monotonic(), time.process_time()
        for transport in self.waiting:
            transport.write(ANSWER)

    def take(self, at: int, request: bytes, transport: asyncio.Transport) -> None:
        seqs, seq = self.seqs[at], _SEQ.search(request)
        if len(seqs) < self._deliveries:
            if len(seqs) % self._sample_every == 0:
                self._samples.write(struct.pack("=Q", len(request)) + request)
            seqs.append(int(seq[1]) if seq else -1)
            self._missing -= len(seqs) == self._deliveries
            if self._missing == 0:
                self._missing = -1
                self._finish()
        if self.is_going:
            transport.write(ANSWER)
            return
        self.waiting.append(transport)
        if len(self.waiting) == len(self.seqs):
            print("waiting", flush=True)

    def _finish(self) -> None:
        took_s, used_s = time.monotonic() - self._begun_s, time.process_time() - self._begun_cpu_s
        self._samples.close()
        had = [seq for seqs in self.seqs for seq in seqs]
        (self._folder / "seqs").write_bytes(struct.pack(f"={len(had)}q", *had))
        print(f"done {took_s:.6f} {used_s:.6f}", flush=True)


class Receiver(asyncio.Protocol):
    """One connection of the receiver `at`."""

    def __init__(self, record: Record, at: int) -> None:
        self._record, self._at = record, at
        self._had = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._had += data
        head = self._had.find(b"\r\n\r\n") + 4
        told = _LENGTH.search(self._had, 0, head) if head > 3 else None
        if told and len(self._had) >= head + int(told[1]):
            request, self._had = self._had[: head + int(told[1])], self._had[head + int(told[1]) :]
            self._record.take(self._at, request, self._transport)  # type: ignore[arg-type]


async def main(receivers: int, deliveries: int, sample_every: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    record = Record(receivers, deliveries, sample_every, folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    servers = [
        await loop.create_server(lambda at=at: Receiver(record, at), "127.0.0.1", 0, ssl=tls)  # type: ignore[misc]
        for at in range(receivers)
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        record.go()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
