"""Deliveries to receivers that misbehave on the wire, over real sockets; and what a kept connection is good for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import pytest

from gateway.outlets.webhooks import sender as sender_module
from gateway.outlets.webhooks.answer import KEPT_BYTES
from gateway.outlets.webhooks.connection import Connection, Deadlines
from gateway.outlets.webhooks.errors import NoAnswer
from gateway.outlets.webhooks.policy import Policy
from gateway.outlets.webhooks.sender import HttpSender, Outcome
from tests.support.leaks import nothing_left
from tests.support.wait import until

LINES = b"webhook-id: a-1\r\nContent-Type: application/json\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = b"x" * 16_000_000
"""More than the buffers of any two sockets."""

Play = Callable[["Call"], Awaitable[None]]


@dataclass
class Call:
    """One connection that a rude receiver has taken."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes] = field(default_factory=list)

    async def request(self) -> bytes:
        """The next whole request."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        self.requests.append(head + await self.reader.readexactly(length))
        return self.requests[-1]

    def say(self, data: bytes) -> None:
        self.writer.write(data)


class Rude:
    """A receiver that does on each connection what `play` says, and then closes it."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls: list[Call] = []
        self.port = 0

    @property
    def requests(self) -> list[bytes]:
        return [request for call in self.calls for request in call.requests]

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = Call(len(self.calls), reader, writer)
        self.calls.append(call)
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._play(call)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def leave(self) -> None:
        """Ends what still plays."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        for call in self.calls:
            call.writer.transport.abort()


@asynccontextmanager
async def rude(play: Play, host: str = "127.0.0.1") -> AsyncIterator[Rude]:
    receiver = Rude(play)
    server = await asyncio.start_server(receiver.take, host, 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield receiver
        finally:
            await receiver.leave()


@asynccontextmanager
async def sending(timeout_s: float = 10.0) -> AsyncIterator[HttpSender]:
    sender = HttpSender(Policy(["loopback"]), timeout_s=timeout_s)
    try:
        yield sender
    finally:
        await sender.close()


def saying(*pieces: bytes) -> Play:
    """Says this to the first request."""

    async def play(call: Call) -> None:
        await call.request()
        for piece in pieces:
            call.say(piece)
            await call.writer.drain()

    return play


def pouring(begin: bytes, piece: bytes) -> Play:
    """Says this to the first request, and goes on for as long as anybody listens."""

    async def play(call: Call) -> None:
        await call.request()
        call.say(begin)
        while not call.writer.is_closing():
            call.say(piece)
            await call.writer.drain()
            await asyncio.sleep(0)

    return play


async def one_post(play: Play, body: bytes = b"{}", timeout_s: float = 10.0) -> Outcome:
    async with rude(play) as receiver, sending(timeout_s) as sender:
        outcome = await sender.post(f"http://127.0.0.1:{receiver.port}/hook", LINES, body)
        assert not sender._resting, "a connection of a rude receiver was kept"
        return outcome


NO_ANSWERS = {
    "HTTP/0.9": (saying(b"<html>hello</html>"), "not HTTP"),
    "noise": (saying(bytes(range(256))), "not HTTP"),
    "a faulty length": (saying(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"), "Content-Length"),
    "headers without end": (pouring(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100), "bytes of headers"),
    "a header without end": (pouring(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000), "bytes of headers"),
    "1xx without end": (pouring(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "none that counts"),
    "cut at once": (saying(), "cut before an answer"),
    "cut in the status": (saying(b"HTTP/1.1 2"), "in the middle of its answer"),
    "cut in the headers": (saying(b"HTTP/1.1 200 OK\r\nContent-Le"), "in the middle of its answer"),
    "cut after 100": (saying(b"HTTP/1.1 100 Continue\r\n\r\n"), "in the middle of its answer"),
    "101": (saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "unasked"),
}


@pytest.mark.parametrize(("play", "reason"), NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_a_rude_receiver_gives_no_answer_and_a_reason(play: Play, reason: str) -> None:
    outcome = await one_post(play)
    assert outcome.status is None
    assert reason in outcome.reason


STANDING = {
    "cut in the body": (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"), 200, "half"),
    "no length": (saying(b"HTTP/1.1 200 OK\r\n\r\n", b"until the end"), 200, "until the end"),
    "HTTP/1.0": (saying(b"HTTP/1.0 202 Fine\r\n\r\nold"), 202, "old"),
    "bad chunks": (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnonsense\r\n"), 200, "ok"),
    "bytes behind it": (saying(OK + b"HTTP/1.1 500 Injected\r\nContent-Length: 0\r\n\r\n"), 200, "ok"),
    "a body without end": (pouring(b"HTTP/1.1 500 No\r\n\r\n", b"y" * 10_000), 500, "y" * KEPT_BYTES),
    "chunks without end": (
        pouring(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\ny\r\n" * 1000),
        500,
        "y" * KEPT_BYTES,
    ),
}


@pytest.mark.parametrize(("play", "status", "answer"), STANDING.values(), ids=STANDING)
async def test_with_a_whole_head_the_status_stands_and_the_connection_ends(
    play: Play, status: int, answer: str
) -> None:
    outcome = await one_post(play)
    assert (outcome.status, outcome.answer) == (status, answer)


async def test_a_slow_drip_is_left_when_time_is_up() -> None:
    async def play(call: Call) -> None:
        await call.request()
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            call.say(bytes([byte]))
            await asyncio.sleep(0.005)

    outcome = await one_post(play, timeout_s=1.0)
    assert (outcome.status, outcome.reason) == (None, "no answer in time")


async def test_when_time_is_up_in_the_body_the_status_stands() -> None:
    async def play(call: Call) -> None:
        await call.request()
        call.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow")
        await call.reader.read()

    outcome = await one_post(play, timeout_s=1.0)
    assert (outcome.status, outcome.answer) == (200, "slow")


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", 413, "answered 413"),
        (OK, None, "it answered 200 before it had the whole message"),
    ],
    ids=["a refusal counts", "a success does not"],
)
async def test_an_answer_before_the_body_was_sent(said: bytes, status: int | None, reason: str) -> None:
    """The signature is over the whole body: nobody can have taken what was not sent yet."""

    async def play(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        call.say(said)
        await asyncio.sleep(5)

    outcome = await one_post(play, LARGE)
    assert (outcome.status, outcome.reason) == (status, reason)


async def test_a_receiver_that_never_reads_is_left_when_time_is_up() -> None:
    async def play(call: Call) -> None:
        await asyncio.sleep(5)

    outcome = await one_post(play, LARGE, timeout_s=1.0)
    assert outcome.reason == "no answer in time"


async def test_the_connection_of_one_that_speaks_first_is_not_kept() -> None:
    """From then on every answer would be the one to the request before."""

    async def play(call: Call) -> None:
        call.say(OK)
        await call.request()
        call.say(OK)
        await call.request()

    async with rude(play) as receiver, sending() as sender:
        await sender.post(f"http://127.0.0.1:{receiver.port}/", LINES, b"{}")
        await until(lambda: not sender._open)


async def test_what_was_said_before_the_request_is_no_answer_to_it() -> None:
    """Where it comes in the moment between connecting and asking."""
    ours, theirs = socket.socketpair()
    with theirs:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(lambda lost: None), sock=ours)
        theirs.send(OK)
        await until(lambda: not connection.is_usable)
        with pytest.raises(NoAnswer, match="before it was asked"):
            await connection.ask(b"POST / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0)


async def test_bytes_that_come_unasked_end_a_resting_connection() -> None:
    """Else they would be taken for the answer to the next request."""

    async def play(call: Call) -> None:
        await call.request()
        call.say(OK)
        if call.number == 0:
            await call.writer.drain()
            await asyncio.sleep(0.02)
            call.say(OK)
        await call.reader.read()

    async with rude(play) as receiver, sending() as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        assert (await sender.post(url, LINES, b"1")).is_ok
        await until(lambda: not sender._resting)
        assert (await sender.post(url, LINES, b"2")).is_ok
    assert [len(call.requests) for call in receiver.calls] == [1, 1]


# -- kept connections ----------------------------------------------------------------------------------------------------


async def _answers(call: Call) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            await call.request()
            call.say(OK)


async def test_a_connection_serves_one_after_another_and_several_at_a_time() -> None:
    async with nothing_left(), rude(_answers) as receiver, sending() as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        for _ in range(3):
            assert (await sender.post(url, LINES, b"{}")).is_ok
        assert len(receiver.calls) == 1
        await asyncio.gather(*(sender.post(url, LINES, b"{}") for _ in range(4)))
        assert len(receiver.calls) == 4
        await sender.close()
    assert len(receiver.requests) == 7


async def test_a_resting_connection_ends_by_itself_and_leaves_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "KEEP_ALIVE_S", 0.05)
    async with rude(_answers) as receiver, sending() as sender:
        assert (await sender.post(f"http://127.0.0.1:{receiver.port}/", LINES, b"{}")).is_ok
        assert sender._resting
        await until(lambda: not sender._open)
        assert not sender._resting
        await until(lambda: sender._deadlines._timer is None)


async def _dies_on_the_second(call: Call) -> None:
    await call.request()
    if call.number == 0:
        call.say(OK)
        await call.request()
        call.writer.transport.abort()
    else:
        await _say_and_go_on(call)


async def _say_and_go_on(call: Call) -> None:
    call.say(OK)
    await _answers(call)


async def test_a_rested_connection_that_dies_before_a_byte_costs_a_resend_and_no_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same bytes, so that the receiver knows the double by its id."""
    monkeypatch.setattr(sender_module, "STALE_S", 0.0)
    async with rude(_dies_on_the_second) as receiver, sending() as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        await sender.post(url, LINES, b"1")
        assert (await sender.post(url, LINES, b"2")).is_ok
    assert [len(call.requests) for call in receiver.calls] == [2, 1]
    assert receiver.calls[0].requests[1] == receiver.calls[1].requests[0]


async def test_one_that_was_busy_until_now_and_dies_is_a_failed_attempt() -> None:
    """It is no race with a receiver that closes what rests."""
    async with rude(_dies_on_the_second) as receiver, sending() as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        await sender.post(url, LINES, b"1")
        outcome = await sender.post(url, LINES, b"2")
    assert (outcome.status, outcome.reason) == (None, "the connection was cut before an answer")
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("begun", [b"", b"HTTP/1."], ids=["not even then", "nor after a first byte"])
async def test_it_is_sent_again_once_at_most(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(sender_module, "STALE_S", 0.0)

    async def play(call: Call) -> None:
        if call.number == 0:
            await call.request()
            call.say(OK)
        await call.request()
        call.say(begun)

    async with rude(play) as receiver, sending() as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        await sender.post(url, LINES, b"1")
        outcome = await sender.post(url, LINES, b"2")
    assert outcome.status is None
    assert len(receiver.requests) == (2 if begun else 3)


async def test_a_cancelled_attempt_ends_its_connection_and_no_other() -> None:
    async def play(call: Call) -> None:
        while b"hang" not in await call.request():
            call.say(OK)
        await call.reader.read()

    async with nothing_left(), rude(play) as receiver, sending(timeout_s=60) as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        await sender.post(url, LINES, b"{}")
        hanging = asyncio.create_task(sender.post(url, LINES, b"hang"))
        await until(lambda: len(receiver.requests) == 2)
        other = asyncio.create_task(sender.post(url, LINES, b"{}"))
        assert (await other).is_ok
        hanging.cancel()
        await until(lambda: len(sender._open) == 1)
        assert (await sender.post(url, LINES, b"{}")).is_ok
        assert len(receiver.calls) == 2
        await sender.close()


async def test_closing_tells_whoever_still_waits() -> None:
    """A ping may be under way when the configuration is read again."""

    async def play(call: Call) -> None:
        await call.request()
        await call.reader.read()

    async with nothing_left(), rude(play) as receiver, sending() as sender:
        url = f"http://127.0.0.1:{receiver.port}/"
        waiting = asyncio.create_task(sender.post(url, LINES, b"{}"))
        await until(lambda: len(receiver.requests) == 1)
        await sender.close()
        assert (await waiting).reason == "the gateway gave it up"
        late = await sender.post(url, LINES, b"{}")
        assert late.status is None
        assert len(receiver.requests) == 1
        assert sender._deadlines._timer is None


async def test_deadlines_are_kept_by_one_timer_and_each_in_its_own_time() -> None:
    """Also one that is set earlier than those before it, and one that was moved or cleared meanwhile."""
    loop, expired = asyncio.get_running_loop(), []

    class Told(Connection):
        def __init__(self, name: str) -> None:
            super().__init__(lambda connection: None)
            self.name = name

        def expire(self) -> None:
            expired.append(self.name)

    deadlines, now_s = Deadlines(), loop.time()
    first, second, moved, cleared = (Told(name) for name in ("first", "second", "moved", "cleared"))
    for connection, after_s in ((second, 0.10), (first, 0.05), (moved, 0.06), (cleared, 0.07)):
        deadlines.set(connection, now_s + after_s)
    deadlines.set(moved, now_s + 0.15)
    deadlines.clear(cleared)
    await until(lambda: len(expired) == 3)
    assert expired == ["first", "second", "moved"]
    assert deadlines._timer is None


# -- what we send, read by h11 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "path", "target"),
    [
        ("127.0.0.1", "/hook", b"/hook"),
        ("127.0.0.1", "", b"/"),
        ("127.0.0.1", "/a%2Fb/ü?q=1&x=%20y", b"/a%2Fb/%C3%BC?q=1&x=%20y"),
        ("[::1]", "/hook?", b"/hook"),
    ],
)
async def test_another_implementation_reads_our_requests(host: str, path: str, target: bytes) -> None:
    async with rude(_answers, host.strip("[]")) as receiver, sending() as sender:
        for body in (b"", b'{"a":1}'):
            assert (await sender.post(f"http://{host}:{receiver.port}{path}", LINES, body)).is_ok
    peer = h11.Connection(h11.SERVER)
    for raw, body in zip(receiver.requests, (b"", b'{"a":1}'), strict=True):
        peer.receive_data(raw)
        request = peer.next_event()
        assert isinstance(request, h11.Request)
        assert (request.method, request.target, request.http_version) == (b"POST", target, b"1.1")
        headers = dict(request.headers)
        assert len(headers) == len(request.headers), "a header was sent twice"
        assert headers[b"host"] == f"{host}:{receiver.port}".encode()
        assert headers[b"webhook-id"] == b"a-1"
        had = b""
        while isinstance(event := peer.next_event(), h11.Data):
            had += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert had == body
        peer.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        peer.send(h11.EndOfMessage())
        peer.start_next_cycle()
