"""The codec of answers: what it takes and refuses, in any pieces, beside h11 (another's HTTP/1.1), and bounded whatever comes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import h11
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.outlets.webhooks.answer import (
    KEPT_BYTES,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_INTERIM,
    Answer,
    AnswerReader,
)
from gateway.outlets.webhooks.errors import NoAnswer, NoByte

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def read(*pieces: bytes, is_cut: bool = False) -> Answer | None:
    """The answer in these pieces; with `is_cut` the connection ends after them."""
    reader = AnswerReader()
    for piece in pieces:
        answer = reader.feed(piece)
        if answer is not None:
            return answer
    return reader.cut() if is_cut else None


WHOLE = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "no body": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "204": (b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", 204, b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok", True),
    "a folded header": (b"HTTP/1.1 200 OK\r\nX: a\r\n  b\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "the same length twice": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-length: 2, 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
        200,
        b"ok",
        True,
    ),
    "a trailer": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
        200,
        b"ok",
        True,
    ),
    "after 1xx": (CONTINUE + b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 OK\r\n\r\n", 204, b"", True),
    "close": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nok", 200, b"ok", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
    "bytes behind it": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n", 200, b"ok", False),
    "bytes behind a 204": (b"HTTP/1.1 204 OK\r\n\r\nwhat?", 204, b"", False),
    "bytes behind chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore", 200, b"", False),
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        b"ok",
        False,
    ),
    "bad chunks": (b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", 500, b"ok", False),
    "a chunk that does not end": (
        b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay",
        500,
        b"ok",
        False,
    ),
    "an endless size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 1025, 200, b"", False),
}
CUT = {
    "no length": (b"HTTP/1.1 200 OK\r\n\r\nbody", 200, b"body"),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nbody", 200, b"body"),
    "half a chunk": (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbody", 500, b"body"),
    "half a trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y", 200, b""),
    "another coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbody", 200, b"body"),
}
REFUSED = {
    "HTTP/0.9": b"<html>welcome</html>",
    "another protocol": b"220 mail.example ESMTP\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x0a",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of nothing": b"HTTP/1.1 099 OK\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "a line without a colon": b"HTTP/1.1 200 OK\r\nwhat\r\n\r\n",
    "a NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "a bare CR in a header": b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length in hex": b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n",
    "no number": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
    "another protocol, unasked": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "1xx without end": CONTINUE * (MAX_INTERIM + 1),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000,
    "one header without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize(("raw", "status", "body", "keeps"), WHOLE.values(), ids=WHOLE)
def test_a_whole_answer_is_read_in_any_two_pieces(raw: bytes, status: int, body: bytes, keeps: bool) -> None:
    """Whether the connection stays is decided by all that has come with the last piece, so that is looked at in one piece only."""
    answer = read(raw)
    assert answer is not None
    assert (answer.status, answer.body, answer.keeps) == (status, body, keeps)
    for at in range(1, len(raw)):
        again = read(raw[:at], raw[at:])
        assert again is not None, at
        assert (again.status, again.body) == (status, body), at
    again = read(*(raw[at : at + 1] for at in range(len(raw))))
    assert again is not None
    assert (again.status, again.body) == (status, body)


@pytest.mark.parametrize(("raw", "status", "body"), CUT.values(), ids=CUT)
def test_with_a_whole_head_the_status_stands_wherever_the_body_ends(raw: bytes, status: int, body: bytes) -> None:
    assert read(raw) is None
    for at in range(1, len(raw)):
        answer = read(raw[:at], raw[at:], is_cut=True)
        assert answer is not None
        assert (answer.status, answer.body, answer.keeps) == (status, body, False)


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_what_is_no_answer_is_refused_in_one_piece_or_many(raw: bytes) -> None:
    with pytest.raises(NoAnswer):
        read(raw, is_cut=True)
    with pytest.raises(NoAnswer):
        read(*(raw[at : at + 7] for at in range(0, len(raw), 7)), is_cut=True)


@pytest.mark.parametrize("name", ["HTTP/0.9", "another protocol", "a TLS alert", "HTTP/2"])
def test_what_cannot_become_http_is_refused_at_once(name: str) -> None:
    """And not when its line or its connection ends, which it may never."""
    with pytest.raises(NoAnswer, match="not HTTP"):
        AnswerReader().feed(REFUSED[name][:8])


def test_an_end_before_the_first_byte_is_told_from_one_within() -> None:
    """Only the first may be a connection that nobody listened to any more."""
    with pytest.raises(NoByte):
        AnswerReader().cut()
    for begun in (b"H", CONTINUE, CONTINUE + b"HTTP/1.1 200 OK\r\n"):
        with pytest.raises(NoAnswer, match="in the middle") as caught:
            read(begun, is_cut=True)
        assert not isinstance(caught.value, NoByte)


@pytest.mark.parametrize(
    "told", [b"Content-Length: 1000000000000000000000000000000", b"Transfer-Encoding: chunked", b"X: y"]
)
def test_a_body_that_is_too_long_ends_the_reading_and_little_of_it_is_kept(told: bytes) -> None:
    reader, had, answer = AnswerReader(), 0, None
    assert reader.feed(b"HTTP/1.1 200 OK\r\n" + told + b"\r\n\r\n") is None
    piece = b"400\r\n" + b"y" * 1024 + b"\r\n" if b"chunked" in told else b"y" * 1024
    while answer is None:
        had += len(piece)
        assert had < MAX_BODY_BYTES + 4096
        answer = reader.feed(piece)
    assert (answer.status, answer.keeps, answer.body) == (200, False, b"y" * KEPT_BYTES)


def test_the_times_it_asks_for_are_handed_on() -> None:
    answer = read(b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\nDATE: now\r\nContent-Length: 0\r\n\r\n")
    assert answer is not None
    assert answer.headers == {"Retry-After": "120", "Date": "now"}


# -- beside h11 ----------------------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What h11 makes of the same bytes, the connection ending after them."""

    status: int | None = None
    body: bytes = b""
    is_whole: bool = False
    may_stay: bool = False


def judged_by_h11(raw: bytes) -> Verdict:
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    peer.send(h11.EndOfMessage())
    verdict = Verdict()
    peer.receive_data(raw)
    try:
        for is_ended in (False, True):
            if is_ended:
                verdict.may_stay = peer.their_state is h11.DONE and not peer.trailing_data[0]
                if verdict.is_whole:
                    break
                peer.receive_data(b"")
            while (event := peer.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
                if isinstance(event, h11.Response):
                    verdict.status = event.status_code
                elif isinstance(event, h11.Data):
                    verdict.body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    verdict.is_whole = True
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    break
    except h11.RemoteProtocolError:
        pass
    return verdict


_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 500 ",
        b"HTTP/1.1 410",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1  200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.7 200 OK",
    ]
)
_HEADERS = st.lists(
    st.sampled_from(
        [
            b"Content-Length: 5",
            b"content-length:  0  ",
            b"Content-Length: 5, 5",
            b"Content-Length: +5",
            b"Content-Length: 5 5",
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            b"Connection: Keep-Alive",
            b'X-Any: \xe9t\xe9; a="b"',
            b"Empty:",
            b"X : y",
            b"bad name: y",
            b"X: y\r\n folded",
        ]
    ),
    max_size=4,
)
_CHUNKED = st.lists(
    st.sampled_from(
        [b"5\r\nhello\r\n", b"A;x\r\n0123456789\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"g\r\n", b"5\r\nhell"]
    )
)
_BODIES = st.one_of(st.sampled_from([b"", b"hello", b"hell", b"hello, and more"]), _CHUNKED.map(b"".join))
_RAW = st.builds(
    lambda interim, line, headers, end, body: interim + end.join([line, *headers]) + end + end + body,
    st.sampled_from([b"", CONTINUE, CONTINUE + b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n"]),
    _LINES,
    _HEADERS,
    st.sampled_from([b"\r\n", b"\r\n", b"\n"]),
    _BODIES,
)


@settings(max_examples=1500, deadline=None)
@given(raw=_RAW, cut=st.integers(0, 40))
def test_h11_says_the_same_of_it(raw: bytes, cut: int) -> None:
    """What we take, h11 takes, with the same status and body; what h11 takes whole, we take; a connection is kept only where h11 would.

    Differences on purpose: where a head is right and its body is not, h11 has an error and we have the status; and h11 knows neither
    several transfer codings nor an HTTP/1.0 that stays.
    """
    assume(raw.count(b"Transfer-Encoding") < 2)
    raw = raw[: len(raw) - cut] if cut < 10 else raw
    theirs = judged_by_h11(raw)
    try:
        ours = read(raw, is_cut=True)
    except NoAnswer:
        assert theirs.status is None
        return
    assert ours is not None
    assert ours.status == theirs.status
    if theirs.is_whole:
        assert ours.body == theirs.body
    if ours.keeps and b"HTTP/1.0" not in raw:
        assert theirs.may_stay


@settings(max_examples=500, deadline=None)
@given(raw=_RAW, seed=st.integers(0, 1 << 32))
def test_pieces_make_no_difference(raw: bytes, seed: int) -> None:
    assert _verdict(_split(raw, random.Random(seed))) == _verdict([raw])


@settings(max_examples=500, deadline=None)
@given(
    begin=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    rest=st.binary(max_size=300),
)
def test_whatever_comes_there_is_an_answer_or_a_reason(begin: bytes, rest: bytes) -> None:
    said = _verdict([begin, rest])
    assert said is not None


def _split(raw: bytes, chance: random.Random) -> list[bytes]:
    pieces = []
    while raw:
        size = chance.choice([1, 2, 3, 10, 50])
        pieces.append(raw[:size])
        raw = raw[size:]
    return pieces


def _verdict(pieces: Sequence[bytes]) -> tuple[int, bytes] | str:
    try:
        answer = read(*pieces, is_cut=True)
    except NoAnswer as error:
        return type(error).__name__
    assert answer is not None
    assert len(answer.body) <= KEPT_BYTES
    return answer.status, answer.body
