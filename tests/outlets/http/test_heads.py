"""Simple heads: what the door reads by itself, aiohttp's parser reads in the same way; all else is left to that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.http import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.outlets.http.heads import MOST_BYTES, read_head

SIMPLE = b"GET /api/v1/things?since=now&thing=a%20b HTTP/1.1\r\nHost: gw.local\r\nAccept:  text/plain \r\nX-A: 1\r\nx-a: 2\r\n\r\n"

NOT_SIMPLE = [
    b"",
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2\r\nHost: a\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    b'GET /a"b HTTP/1.1\r\nHost: a\r\n\r\n',
    b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n ",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /" + b"a" * MOST_BYTES + b" HTTP/1.1\r\n\r\n",
]


def test_a_simple_get_is_read() -> None:
    head = read_head(SIMPLE)
    assert head is not None
    assert (head.raw_path, head.raw_query, head.keeps) == ("/api/v1/things", "since=now&thing=a%20b", True)
    assert head.fields("ACCEPT") == ("text/plain",)
    assert head.fields("X-A") == ("1", "2")
    assert head.fields("If-None-Match") == ()


@pytest.mark.parametrize("data", NOT_SIMPLE, ids=[str(n) for n in range(len(NOT_SIMPLE))])
def test_anything_else_is_left_to_aiohttp(data: bytes) -> None:
    assert read_head(data) is None


def test_a_client_that_closes_is_known() -> None:
    head = read_head(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n")
    assert head is not None
    assert not head.keeps


def test_what_a_client_prefers_is_read_from_all_its_fields() -> None:
    head = read_head(b"GET / HTTP/1.1\r\nHost: a\r\nPrefer: respond-async\r\nPrefer: wait=9\r\n\r\n")
    assert head is not None
    assert (head.prefer.wait_s, head.prefer.respond_async) == (9, True)


_PIECES = st.sampled_from(
    [b"GET ", b"/", b"/a", b"?", b"b=%20", b"%zz", b" ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"Host",
     b": ", b":", b"gw", b"\t", b"Content-Length: 2\r\n", b"Connection: close\r\n", b"\x00", b"\xe4", b"#", b"//", b"..", b";", b"@"]
)  # fmt: skip
_HEADS = st.one_of(
    st.lists(_PIECES, max_size=20).map(b"".join),
    st.lists(_PIECES, max_size=8).map(lambda pieces: b"GET /" + b"".join(pieces) + b" HTTP/1.1\r\nHost: gw\r\n\r\n"),
    st.lists(_PIECES, max_size=8).map(lambda pieces: b"GET / HTTP/1.1\r\nX: " + b"".join(pieces) + b"\r\n\r\n"),
    st.binary(max_size=40).map(lambda data: SIMPLE[:30] + data + SIMPLE[30:]),
)


class _Protocol(asyncio.Protocol):
    """As much of a connection as aiohttp's parser asks for."""

    _reading_paused = False

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: None


@settings(max_examples=600, deadline=None)
@given(_HEADS)
def test_what_is_read_here_aiohttp_reads_in_the_same_way(data: bytes) -> None:
    """The independent witness of the door's reading is the parser that everything else goes through."""
    head = read_head(data)
    if head is None:
        return
    loop = asyncio.new_event_loop()
    try:
        messages, upgraded, tail = HttpRequestParser(_Protocol(), loop, 2**16).feed_data(data)  # type: ignore[arg-type]
    finally:
        loop.close()
    assert (len(messages), upgraded, tail) == (1, False, b"")
    message = messages[0][0]
    assert (message.method, message.version) == ("GET", (1, 1))
    assert (message.url.raw_path, message.url.raw_query_string) == (head.raw_path, head.raw_query)
    assert message.should_close is not head.keeps
    names = {name.lower() for name in message.headers}
    assert {name: tuple(message.headers.getall(name)) for name in names} == {name: head.fields(name) for name in names}
