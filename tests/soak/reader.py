"""A well-behaved reader whose latency is watched: it polls on a kept connection, and is held until a device says something new."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field

import msgspec

from tests.support.gateway import Gateway
from tests.support.line import Line

_TIMEOUT_S = 30.0
_PAUSE_S = 0.005
_POLLS = 5
"""Polls between two held requests."""


@dataclass
class Latencies:
    """What the reader waited, in seconds: for polls, and from a device's line to the end of a held request."""

    poll_s: list[float] = field(default_factory=list)
    wake_s: list[float] = field(default_factory=list)


class Reader:
    """One phone on one kept connection. `thing` has a `temperature`, which the reader makes the device say through `line`."""

    def __init__(self, gateway: Gateway, line: Line, thing: str) -> None:
        self._line, self._thing = line, thing
        self._connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=_TIMEOUT_S)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = f" HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nAuthorization: Bearer {gateway.token}\r\n\r\n"
        self._value = 0

    def watch(self, seconds: float) -> Latencies:
        """Polls and waits for so long, at least once each.

        Raises:
            AssertionError: an answer was wrong.
        """
        found = Latencies()
        end_s = time.monotonic() + seconds
        while not found.wake_s or time.monotonic() < end_s:
            for _ in range(_POLLS):
                begun_s = time.monotonic()
                self._get(f"/api/v1/things/{self._thing}")
                found.poll_s.append(time.monotonic() - begun_s)
                time.sleep(_PAUSE_S)
            found.wake_s.append(self._wake())
        return found

    def close(self) -> None:
        self._connection.close()

    def _wake(self) -> float:
        """From the device's line to the whole answer. The pause lets the request be held before; were it not yet, it would be answered all
        the same, and count."""
        cursor = msgspec.json.decode(self._get("/api/v1/changes"))["cursor"]
        self._value = (self._value + 1) % 1000
        self._ask(f"/api/v1/changes?since={cursor}&wait=30&thing={self._thing}")
        time.sleep(_PAUSE_S)
        begun_s = time.monotonic()
        assert self._line.write(b'{"temperature":%d}\n' % self._value)
        changes = msgspec.json.decode(self._answer())["changes"]
        elapsed_s = time.monotonic() - begun_s
        assert [one["value"] for one in changes] == [self._value], changes
        return elapsed_s

    def _get(self, path: str) -> bytes:
        self._ask(path)
        return self._answer()

    def _ask(self, path: str) -> None:
        self._connection.sendall(f"GET {path}{self._headers}".encode())

    def _answer(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        return body

    def _more(self) -> bytes:
        data = self._connection.recv(65536)
        assert data, "the gateway closed a well-behaved reader's connection"
        return data
