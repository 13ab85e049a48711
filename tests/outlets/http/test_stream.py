"""The lossless feed as server-sent events, read by an SSE client that others wrote, and by eye."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from gateway.core.change import Entry, Filter, Wanted
from gateway.outlets.http import stream
from gateway.outlets.http.accept import wants_stream
from gateway.outlets.http.changes import Ask, Feed, Form, Found
from gateway.outlets.http.door import Door
from gateway.outlets.http.pace import TURN
from gateway.outlets.http.sieve import _STREAMING
from tests.outlets.http.house import House
from tests.outlets.http.wire import Wire
from tests.support.wait import until

FEED = "/api/v1/changes"
SSE = {"Accept": "text/event-stream"}


async def events(
    http: httpx.AsyncClient, count: int, since: str | None = None, **headers: str
) -> list[ServerSentEvent]:
    """The first `count` events; the client of httpx-sse yields blocks without data as well, which are none."""
    params = {"since": since} if since else {}
    async with aconnect_sse(http, "GET", FEED, params=params, headers=headers) as source:
        found: list[ServerSentEvent] = []
        stream: AsyncIterator[ServerSentEvent] = source.aiter_sse()
        while len(found) < count:
            event = await anext(stream)
            if event.data:
                found.append(event)
        return found


async def test_events_are_unnamed_and_their_id_is_the_cursor(house: House, http: httpx.AsyncClient) -> None:
    found = await events(http, house.core.journal.head, "oldest")
    feed = (await http.get(FEED, params={"since": "oldest"})).json()
    assert [json.loads(event.data) for event in found] == feed["changes"]
    assert [event.id for event in found] == [change["id"] for change in feed["changes"]]
    assert {event.event for event in found} == {"message"}


async def test_the_headers_and_first_bytes(house: House, http: httpx.AsyncClient) -> None:
    async with http.stream("GET", FEED, headers=SSE) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in stream.headers
        assert await anext(stream.aiter_bytes()) == b"retry: 3000\n\n"


async def test_without_since_it_begins_now(house: House, http: httpx.AsyncClient) -> None:
    first = asyncio.create_task(events(http, 2))
    await until(lambda: house.outlet.status()["streams"] == 1)
    await house.said(temperature=25.0)
    await house.said(temperature=26.0)
    assert [json.loads(event.data)["value"] for event in await first] == [25.0, 26.0]


async def test_last_event_id_wins_over_since(house: House, http: httpx.AsyncClient) -> None:
    found = await events(http, 1, "oldest", **{"Last-Event-ID": house.core.journal.cursor(5)})
    assert json.loads(found[0].data)["seq"] == 6


@pytest.mark.parametrize("cursor", ["aaaaaaaaaaaa-3", "below"])
async def test_a_gone_cursor_is_a_stream_that_begins_with_reset(
    house: House, http: httpx.AsyncClient, cursor: str
) -> None:
    journal = house.core.journal
    journal.forget_until(4)
    reading = asyncio.create_task(events(http, 2, journal.cursor(1) if cursor == "below" else cursor))
    await until(lambda: house.outlet.status()["streams"] == 1)
    head = journal.cursor()
    await house.said(temperature=25.0)
    reset, change = await reading
    body = json.loads(reset.data)
    assert (reset.event, reset.id, body["type"], body["cursor"]) == ("reset", head, "/problems/cursor-gone", head)
    assert body["snapshot"] == "/api/v1/things"
    assert json.loads(change.data)["value"] == 25.0


async def test_a_malformed_cursor_is_400(http: httpx.AsyncClient) -> None:
    assert (await http.get(FEED, params={"since": "x"}, headers=SSE)).status_code == 400


async def test_a_quiet_stream_says_that_it_lives(
    house: House, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while changes come that its filter hides; and without a blank line, which some clients take for an event."""
    monkeypatch.setattr("gateway.outlets.http.stream.KEEP_ALIVE_S", 0.05)

    async def chatter() -> None:
        while True:
            await house.said(temperature=25.0)
            await house.said(temperature=26.0)

    talking = asyncio.create_task(chatter())
    async with http.stream("GET", FEED, params={"property": "nothing"}, headers=SSE) as stream:
        got = b""
        async for part in stream.aiter_bytes():
            got += part
            if got.count(b": ka\n") >= 3:
                break
    talking.cancel()
    assert got.replace(b": ka\n", b"") == b"retry: 3000\n\n"


async def test_a_reader_that_the_floor_passes_is_told_of_the_gap(house: House, http: httpx.AsyncClient) -> None:
    """It was connected, and slower than the journal was trimmed: a `journal.gap` says what it has lost."""
    from gateway.core.errors import CursorGone

    journal = house.core.journal
    look, calls = Feed.look, []

    async def late(self: Feed, form: object, after: int, ask: object, wanted: object) -> object:
        calls.append(after)
        if len(calls) == 1:
            journal.forget_until(4)
            raise CursorGone("", "", "")
        return await look(self, form, after, ask, wanted)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feed, "look", late)
        found = await events(http, 2, journal.cursor(1))
    gap = json.loads(found[0].data)
    assert (gap["type"], gap["first"], gap["last"]) == ("journal.gap", 2, 4)
    assert json.loads(found[1].data)["seq"] == 5


async def test_a_stream_in_http_1_0_ends_with_its_connection(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    request = f"GET {FEED}?since=oldest HTTP/1.0\r\nAccept: text/event-stream\r\nAuthorization: Bearer {house.secrets['all']}\r\n\r\n"
    writer.write(request.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert await reader.readuntil(b"\n\n") == b"retry: 3000\n\n"
    assert (await reader.readline()).startswith(b"id: ")
    writer.close()
    await writer.wait_closed()
    await until(lambda: house.outlet.status()["streams"] == 0)


async def test_head_of_a_stream_does_not_stream(http: httpx.AsyncClient) -> None:
    head = await http.head(FEED, headers=SSE)
    assert (head.status_code, head.headers["Content-Type"]) == (200, "text/event-stream")


async def test_a_reader_that_takes_nothing_is_cut_and_slows_nobody(
    house: House, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.outlets.http.stream.SLOW_S", 0.3)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", house.port))
    request = f"GET {FEED} HTTP/1.1\r\nHost: x.local\r\nAccept: text/event-stream\r\nAuthorization: Bearer {house.secrets['all']}\r\n\r\n"
    sock.sendall(request.encode())
    await until(lambda: house.outlet.status()["streams"] == 1)
    said = 0
    while house.outlet.status()["streams_cut"] == 0:
        for _ in range(500):
            house.report(text="x" * 1000 + str(said))
            said += 1
        await house.settle()
    assert house.outlet.status()["streams"] == house.outlet.status()["parked"] == 0
    feed = await http.get(FEED, params={"since": "oldest", "limit": 1000})
    assert feed.status_code == 200
    sock.close()


async def test_for_a_reader_that_takes_nothing_nothing_is_looked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as its socket is full; once it reads again, it gets everything in order."""
    looks = []
    look = Feed.look

    async def counting(self: Feed, form: Form, after: int, ask: Ask, wanted: Wanted | None = None) -> Found:
        looks.append(after)
        return await look(self, form, after, ask, wanted)

    monkeypatch.setattr(Feed, "look", counting)
    async with Wire(house.port, house.secrets["all"]) as client:
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.get(FEED, *(f"{name}: {value}" for name, value in SSE.items()))
        await until(lambda: house.outlet.status()["streams"] == 1)
        journal = house.core.journal
        begin = journal.head
        assert house.outlet._handover is not None
        assert house.outlet._handover._connections is not None
        (connection,) = house.outlet._handover._connections.connections
        transport = connection.transport
        assert transport is not None
        while not transport.get_write_buffer_size():  # as long as the kernel takes it
            before = len(looks)
            await journal.committed(journal.append("event.raised", thing="hall", name="x", value="x" * 8000).seq)
            await until(lambda before=before: len(looks) > before or transport.get_write_buffer_size())  # type: ignore[misc]
        before = len(looks)
        for number in range(10):
            await journal.committed(journal.append("event.raised", thing="hall", name="x", value=number).seq)
        assert len(looks) == before, "ten changes later nobody has looked for it"
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        seqs: list[int] = []
        async with asyncio.timeout(20):
            while not seqs or seqs[-1] < journal.head:
                line = await client.reader.readline()
                if line.startswith(b"data: "):
                    seqs.append(json.loads(line[6:])["seq"])
        assert seqs == list(range(begin + 1, journal.head + 1))


async def test_what_a_reader_has_no_room_for_the_kernel_does_not_take(house: House) -> None:
    """It would keep megabytes for each, and the gateway would write them."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", house.port))
        lines = (f"GET {FEED} HTTP/1.1", "Host: x.local", "Accept: text/event-stream")
        sock.sendall("\r\n".join((*lines, f"Authorization: Bearer {house.secrets['all']}", "", "")).encode())
        await until(lambda: house.outlet.status()["streams"] == 1)
        assert house.outlet._handover is not None
        assert house.outlet._handover._connections is not None
        (connection,) = house.outlet._handover._connections.connections
        transport, journal = connection.transport, house.core.journal
        assert transport is not None
        taken = 0
        while not transport.get_write_buffer_size():
            await journal.committed(journal.append("event.raised", thing="hall", name="x", value="x" * 8000).seq)
            taken += 8000
            assert taken < 200_000, "it still takes all"
            await until(lambda: house.outlet._feed.sieves._streams.after == journal.head)
            for _ in range(20):  # the stream is served in the turns after it was woken
                await asyncio.sleep(0)


async def test_a_stream_asks_its_filter_once_about_each_kind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many changes come: dozens of globs that fit are costly, and a sieve and a look both ask."""
    asked: list[str] = []
    passes = Filter.passes

    def counting(self: Filter, entry: Entry) -> bool:
        asked.append(entry.thing)
        return passes(self, entry)

    monkeypatch.setattr(Filter, "passes", counting)
    async with Wire(house.port, house.secrets["all"]) as client:
        client.get(f"{FEED}?thing=h*l", *(f"{name}: {value}" for name, value in SSE.items()))
        await until(lambda: house.outlet.status()["streams"] == 1)
        journal = house.core.journal
        asked.clear()
        async with asyncio.timeout(20):
            for number in range(20):
                thing = "hall" if number % 2 else "cellar"
                await journal.committed(journal.append("event.raised", thing=thing, name="x", value=number).seq)
                while thing == "hall" and not (await client.reader.readline()).startswith(b"data: "):
                    pass
    assert sorted(asked) == ["cellar", "hall"]


async def test_parked_requests_are_answered_before_streams(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the streams have waited for longer; and of the streams few are served in one turn of the loop."""
    order: list[str] = []
    answer, write = Door.answer, stream._Stream.write

    def answering(self: Door, *args: Any) -> None:
        order.append("parked")
        answer(self, *args)

    async def writing(self: stream._Stream, chunk: bytes) -> bool:
        order.append("stream")
        return await write(self, chunk)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Wire(house.port, house.secrets["all"])) for _ in range(80)]
        for client in clients[:60]:
            client.get(FEED, *(f"{name}: {value}" for name, value in SSE.items()))
        await until(lambda: house.outlet.status()["streams"] == 60)
        for number, client in enumerate(clients[60:]):
            client.get(f"{FEED}?since=now&wait=60&property={'temperature' if number % 2 else '*'}")
        await until(lambda: house.outlet.status()["parked"] == 80)
        monkeypatch.setattr(Door, "answer", answering)
        monkeypatch.setattr(stream._Stream, "write", writing)
        house.report(temperature=25.0)
        served = [0]
        while len(order) < 80:
            await asyncio.sleep(0)
            served.append(order.count("stream"))
        assert order == ["parked"] * 20 + ["stream"] * 60
        assert max(now - before for before, now in pairwise(served)) <= TURN // _STREAMING + 1


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream", True),
        ("application/json, text/event-stream;q=0.5", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=abc", True),
        ("*/*", False),
        ("text/*", False),
        ("", False),
    ],
)
def test_what_asks_for_a_stream(accept: str, is_stream: bool) -> None:
    assert wants_stream(accept) is is_stream
