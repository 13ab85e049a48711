"""Who reads the gateway while it lives, and notes each change in the very bytes in which it came."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import msgspec

from tests.support.gateway import Gateway


class Row(NamedTuple):
    """A change as it came."""

    seq: int
    body: bytes

    @property
    def change(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found


class Page(msgspec.Struct):
    """A page of the feed, its changes left as they are."""

    changes: list[msgspec.Raw]
    cursor: str
    more: bool


class _Seq(msgspec.Struct):
    seq: int


def row_of(body: bytes) -> Row:
    """A change, and its seq. What an outlet adds to it is taken off again."""
    if body.endswith(b',"backfill":true}'):
        body = body.removesuffix(b',"backfill":true}') + b"}"
    return Row(msgspec.json.decode(body, type=_Seq).seq, body)


def connect(gateway: Gateway) -> http.client.HTTPConnection:
    """A connection of one's own."""
    return http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)


def get(connection: http.client.HTTPConnection, gateway: Gateway, path: str) -> tuple[int, bytes]:
    """Status and body of one GET on a connection that is kept."""
    connection.request("GET", path, headers={"Authorization": f"Bearer {gateway.token}"})
    answer = connection.getresponse()
    return answer.status, answer.read()


@contextmanager
def streaming(gateway: Gateway, after: str) -> Iterator[Iterator[bytes]]:
    """The bodies of the events of a stream that resumes after a cursor."""
    headers = {"Authorization": f"Bearer {gateway.token}", "Accept": "text/event-stream", "Last-Event-ID": after}
    with closing(connect(gateway)) as connection:
        connection.request("GET", "/api/v1/changes", headers=headers)
        with closing(connection.getresponse()) as answer:
            assert answer.status == 200, answer.status
            yield (line[6:].rstrip(b"\n") for line in answer if line.startswith(b"data: "))


class Watcher(threading.Thread):
    """A reader in a thread of its own. `seen` only grows."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(name=type(self).__name__)
        self.gateway = gateway
        self.seen: list[Row] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        try:
            self.watch()
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            if not self.is_over.is_set():  # the gateway is stopped only after that was said
                raise

    def watch(self) -> None:
        """Reads until it is over."""
        raise NotImplementedError


class LongPoll(Watcher):
    """Asks, and is held until there is something."""

    def watch(self) -> None:
        cursor = "oldest"
        with closing(connect(self.gateway)) as connection:
            while not self.is_over.is_set():
                status, body = get(connection, self.gateway, f"/api/v1/changes?since={cursor}&wait=2&limit=1000")
                assert status == 200, body
                page = msgspec.json.decode(body, type=Page)
                self.seen += [row_of(bytes(change)) for change in page.changes]
                cursor = page.cursor


class Stream(Watcher):
    """Server-sent events."""

    def watch(self) -> None:
        with streaming(self.gateway, "") as events:
            for body in events:
                self.seen.append(row_of(body))
                if self.is_over.is_set():
                    return


class Poll(Watcher):
    """Looks at one property again and again, as a shell script does; `seen` holds the records."""

    def watch(self) -> None:
        with closing(connect(self.gateway)) as connection:
            while not self.is_over.is_set():
                status, body = get(connection, self.gateway, "/api/v1/things/hall/properties/count")
                if status == 200:
                    row = row_of(body)
                    if not self.seen or self.seen[-1] != row:
                        self.seen.append(row)
                self.is_over.wait(0.03)
