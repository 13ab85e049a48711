"""The codec of what a receiver answers: bytes in, one answer out. No socket, no clock; strict, and bounded whatever comes.

Source: RFC 9112 (HTTP/1.1), sections 2 to 7. What is meant for the other direction, or was never asked for, is refused: HTTP/0.9 and
anything else that is no status line, control characters, a faulty Content-Length, a change of protocol.

With a whole head the status stands, whatever becomes of the body after it: a body that is too long, broken or cut costs its connection, and
nothing else.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.outlets.webhooks.chunked import Chunks
from gateway.outlets.webhooks.errors import NoAnswer, NoByte

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_INTERIM: Final = 10
"""Answers of the kind 1xx before the one that counts."""
MAX_BODY_BYTES: Final = 64 * 1024
"""Of a body as it is on the wire; a longer one is not read to its end."""
KEPT_BYTES: Final = 1024

_END: Final = re.compile(rb"\n\r?\n")
_TIMES: Final = (("Retry-After", b"retry-after"), ("Date", b"date"))
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*(?:\r?\n[\t ][\t\x20-\x7e\x80-\xff]*)*"
_HEAD: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?\r?\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _VALUE + rb"\r?\n)*\r?\n"
)
_FIELD: Final = re.compile(
    rb"^(content-length|transfer-encoding|connection|retry-after|date):[\t ]*(" + _VALUE + rb")",
    re.IGNORECASE | re.MULTILINE,
)


class Answer(NamedTuple):
    """What a receiver has said: the status, the beginning of the body, and those headers that say when to come again.

    `keeps` tells whether the connection may carry another request.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    keeps: bool


class _Head(NamedTuple):
    """What a head says of the body. `length` is None for one that ends with the connection, or in chunks."""

    status: int
    length: int | None
    is_chunked: bool
    keeps: bool
    headers: Mapping[str, str]


class AnswerReader:
    """Reads the answer to one request."""

    __slots__ = ("_body", "_buffer", "_chunks", "_had", "_head", "_interim", "_keeps", "_left", "_scanned")

    def __init__(self) -> None:
        self._buffer = self._body = b""
        self._scanned = self._interim = self._had = 0
        self._head: _Head | None = None
        self._chunks: Chunks | None = None
        self._left: int | None = None
        self._keeps = False

    def feed(self, data: bytes) -> Answer | None:
        """Takes what has come; the answer once it is whole.

        Raises:
            NoAnswer: it cannot become one.
        """
        head = self._head
        if head is None:
            self._buffer += data
            head = self._head = self._read_head()
            if head is None:
                return None
            self._left, self._keeps = head.length, head.keeps
            self._chunks = Chunks() if head.is_chunked else None
            data, self._buffer = self._buffer, b""
        self._had += len(data)
        is_whole = self._read_chunks(data, self._chunks) if self._chunks else self._read_plain(data)
        if is_whole:
            return Answer(head.status, self._body, head.headers, self._keeps)
        return self.cut() if self._had > MAX_BODY_BYTES else None

    def cut(self) -> Answer:
        """The connection has ended, or is ended because time is up: the answer, if there is as much as a status.

        Raises:
            NoByte: nothing at all has come.
            NoAnswer: there is no whole head.
        """
        if head := self._head:
            return Answer(head.status, self._body, head.headers, keeps=False)
        if not self._buffer and not self._interim:
            raise NoByte("the connection was cut before an answer")
        raise NoAnswer("the connection was cut in the middle of its answer")

    @property
    def has_status(self) -> bool:
        """Whether the head is whole."""
        return self._head is not None

    # -- head --------------------------------------------------------------------------------------------------------

    def _read_head(self) -> _Head | None:
        """Reads heads up to the one that counts; None while that is not whole."""
        while True:
            end = _END.search(self._buffer, self._scanned)
            length = end.end() if end else len(self._buffer)
            if length > MAX_HEAD_BYTES:
                raise NoAnswer(f"its answer begins with more than {MAX_HEAD_BYTES} bytes of headers")
            if end is None:
                if not b"HTTP/1.".startswith(self._buffer[:7]):
                    raise _is_not_http(self._buffer)
                self._scanned = max(0, length - 2)
                return None
            head = _head_of(self._buffer[:length])
            self._buffer, self._scanned = self._buffer[length:], 0
            if head.status >= 200:
                return head
            self._interim += 1  # it only says that an answer is on its way (RFC 9110 section 15.2)
            if self._interim > MAX_INTERIM:
                raise NoAnswer(f"{self._interim} answers of the kind {head.status} came, and none that counts")

    # -- body --------------------------------------------------------------------------------------------------------

    def _read_plain(self, data: bytes) -> bool:
        """Takes more of a body; whether that was all of it."""
        if self._left is None:
            self._keep(data)
            return False
        self._keep(data[: self._left])
        self._keeps &= len(data) <= self._left  # what follows answers nothing that was asked
        self._left = max(0, self._left - len(data))
        return self._left == 0

    def _read_chunks(self, data: bytes, chunks: Chunks) -> bool:
        """Takes more of a chunked body; whether that was all of it, or nobody can tell any more where it ends."""
        self._keep(chunks.feed(data[: MAX_BODY_BYTES + 1]))
        self._keeps &= not chunks.is_broken and not (chunks.is_whole and chunks.rest)
        return chunks.is_whole or chunks.is_broken

    def _keep(self, data: bytes) -> None:
        if len(self._body) < KEPT_BYTES:
            self._body += data[: KEPT_BYTES - len(self._body)]


@lru_cache(maxsize=32)
def _head_of(head: bytes) -> _Head:
    """Reads a whole head. The newest are kept: a receiver says the same thing all day, but for its Date.

    How long the body is: RFC 9112 section 6.3; whether the connection stays: section 9.3.

    Raises:
        NoAnswer: it is none that can be understood.
    """
    found = _HEAD.fullmatch(head)
    if found is None:
        raise _is_not_http(head)
    minor, status = found[1], int(found[2])
    fields = _fields_of(head)
    options = fields.get(b"connection", b"").lower()
    length = _length(fields[b"content-length"]) if b"content-length" in fields else None
    keeps = b"close" not in options and (minor != b"0" or b"keep-alive" in options)
    headers = {name: fields[field].decode("latin-1") for name, field in _TIMES if field in fields}
    if status == 101:
        raise NoAnswer("the answer is not HTTP: it changes the protocol unasked")
    if status in (204, 304):
        return _Head(status, 0, False, keeps, headers)
    if b"transfer-encoding" in fields:
        is_chunked = fields[b"transfer-encoding"].lower().rpartition(b",")[2].strip() == b"chunked"
        return _Head(status, None, is_chunked, keeps and is_chunked and length is None and minor != b"0", headers)
    return _Head(status, length, False, keeps and length is not None, headers)


def _fields_of(head: bytes) -> dict[bytes, bytes]:
    """The fields that count, by name in lower case; several of a name are one list (RFC 9110 section 5.3)."""
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(head):
        key = name.lower()
        fields[key] = fields[key] + b"," + value if key in fields else value
    return fields


def _is_not_http(begin: bytes) -> NoAnswer:
    return NoAnswer(f"the answer is not HTTP: it begins with {begin[:40]!r}")


def _length(told: bytes) -> int:
    """The bytes that Content-Length tells of; the same may be told several times (RFC 9112 section 6.3).

    Raises:
        NoAnswer: it is no number, or several.
    """
    numbers = {number.strip(b" \t") for number in told.split(b",")}
    number = numbers.pop()
    if numbers or not number.isdigit():
        raise NoAnswer(f"the answer is not HTTP: its Content-Length is {told[:40]!r}")
    return int(number) if len(number) < 10 else MAX_BODY_BYTES + 1
