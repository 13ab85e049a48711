"""Answers as finished bytes, and how they go out.

aiohttp answers twice as fast when finished bytes are written to the transport than when a response object is built for each request,
and a finished answer can be shared by everybody who asks the same. Only what differs from request to request (the date, whether the
connection stays open, what was preferred) is put in at the last moment.
"""

import asyncio
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from aiohttp import web

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

NO_STORE: Final = ("Cache-Control", "no-store")
REVALIDATE: Final = ("Cache-Control", "private, no-cache")

DRAIN_S: Final = 30.0
"""A client that does not read what it asked for loses its connection after so many seconds."""

ONE_WRITE: Final = 16384
"""Up to so many bytes of body go out in one write with their head."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})


class Answer:
    """A finished answer; immutable, so that one can serve many requests.

    Args:
        status: the HTTP status.
        body: the finished body.
        content_type: of the body; None (and for 204 and 304) leaves it out.
        headers: further ones; `Content-Length` and `Date` are added here, `Connection` at sending.
        has_length: False for a stream, whose end is told in another way.
    """

    __slots__ = ("_second", "_whole", "body", "head", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str | None = JSON,
        headers: Iterable[tuple[str, str]] = (),
        *,
        has_length: bool = True,
    ) -> None:
        lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}"]
        if status not in _WITHOUT_BODY:
            if content_type is not None:
                lines.append(f"Content-Type: {content_type}")
            if has_length:
                lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {_one_line(value)}" for name, value in headers]
        self.status, self.body = status, body
        self._second, self._whole = -1, b""
        self.head = "\r\n".join([*lines, ""]).encode("latin-1", "replace")

    def whole(self, wall_s: float) -> bytes:
        """Head and body in one, with nothing that is one request's own; made once a second."""
        second = int(wall_s)
        if second != self._second:
            self._second, self._whole = second, head_of(self, b"", wall_s) + self.body
        return self._whole


def of_json(content: Any, status: int = 200, headers: Iterable[tuple[str, str]] = (NO_STORE,)) -> Answer:
    """An answer with anything that msgspec can encode; not to be stored unless `headers` say otherwise."""
    return Answer(status, msgspec.json.encode(content), JSON, headers)


def of_text(text: str, content_type: str = "text/plain; charset=utf-8") -> Answer:
    """A plain text for people."""
    return Answer(200, text.encode(), content_type, (NO_STORE,))


def header_line(name: str, value: str) -> bytes:
    """One header as `Call.extra` takes it."""
    return f"{name}: {_one_line(value)}\r\n".encode("latin-1", "replace")


def head_of(answer: Answer, extra: bytes, wall_s: float | None) -> bytes:
    """The finished head: what is shared, the date (None: no clock worth telling), what is this request's own, and the blank line."""
    date = b"" if wall_s is None else _date_line(int(wall_s))
    return b"%b%b%b\r\n" % (answer.head, date, extra)


async def send(request: "web.BaseRequest", answer: Answer, extra: bytes, wall_s: float | None) -> None:
    """Writes an answer, without its body for HEAD.

    A client that reads slowly is waited for, and cut off after `DRAIN_S`: nothing piles up behind it.
    """
    transport = request.transport
    if transport is None:
        return
    head = head_of(answer, extra, wall_s)
    body = b"" if request.method == "HEAD" else answer.body
    if len(body) <= ONE_WRITE:
        transport.write(head + body)
    else:
        transport.write(head)
        transport.write(body)
    if request.protocol.writing_paused:
        await drain(request)


async def drain(request: "web.BaseRequest", timeout_s: float = DRAIN_S) -> bool:
    """Waits until the client has taken what was written. False when it did not in time: its connection is cut.

    Raises:
        ConnectionError: it has gone.
    """
    transport = request.transport
    try:
        async with asyncio.timeout(timeout_s):
            await request.writer.drain()
    except TimeoutError:
        if transport is not None:
            transport.abort()
        return False
    return True


def wall_s() -> float:
    """Seconds since 1970, for the date of an answer."""
    return time.time()


@lru_cache(maxsize=2)
def _date_line(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode("ascii")


def _one_line(value: str) -> str:
    """No value can end its header and begin another."""
    return value.translate(_BREAKS)


_BREAKS = {code: " " for code in (*range(0x20), 0x7F) if code != 0x09}
