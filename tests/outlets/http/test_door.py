"""The door answers simple GETs by itself and leads everybody else on; a client cannot tell which of the two it was."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import uvloop

from tests.outlets.http.house import House, Settings, open_house
from tests.outlets.http.wire import Wire
from tests.support.wait import until

HALL = "/api/v1/things/hall"


def led_on(house: House) -> int:
    """How many connections have gone on to aiohttp's handler, and are open."""
    handover = house.outlet._handover
    assert handover is not None
    return handover.count


def at_door(house: House) -> int:
    doors = house.outlet._doors
    assert doors is not None
    return doors.count


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/things",
        HALL,
        f"{HALL}/properties/temperature",
        f"{HALL}/properties/temperature/value",
        "/api/v1/changes",
        "/api/v1/changes?since=oldest&type=property.*",
        "/api/v1/changes?since=nonsense",
        "/api/v1/changes?since=oldest&limit=0",
        "/api/v1/things/nobody",
        "/api/v1/nothing",
    ],
)
async def test_both_ways_answer_the_same(house: House, path: str) -> None:
    """The same request with a header that the door takes for no simple one goes by aiohttp."""
    async with Wire(house.port, house.secrets["read"]) as near, Wire(house.port, house.secrets["read"]) as far:
        near.get(path)
        far.get(path, "TE: trailers")
        one, other = await near.answer(), await far.answer()
        for _, headers, _ in (one, other):
            assert headers.pop("date")
        assert one == other
        assert (at_door(house), led_on(house)) == (1, 1)


@pytest.mark.parametrize("who", [None, "control", "wrong"])
async def test_nobody_without_the_right_token_is_answered_at_the_door(house: House, who: str | None) -> None:
    secret = "" if who is None else house.secrets.get(who, "hg_wrong")
    async with Wire(house.port, secret) as wire:
        for _ in range(2):
            wire.get("/api/v1/things")
            status, headers, body = await wire.answer()
            assert status == (403 if who == "control" else 401)
            assert headers["www-authenticate"].startswith("Bearer")
            assert b"hall" not in body
        assert at_door(house) == 1


async def test_a_name_that_is_not_ours_is_turned_away_at_the_door(house: House) -> None:
    async with Wire(house.port, house.secrets["read"]) as wire:
        wire.send(f"GET /api/v1/things HTTP/1.1\r\nHost: evil.example\r\n{wire.bearer}\r\n".encode())
        assert (await wire.answer())[0] == 421
        assert at_door(house) == 1


async def test_the_same_head_sees_what_has_changed(house: House) -> None:
    """A head is known by its bytes; the answer never is."""
    async with Wire(house.port, house.secrets["read"]) as wire:
        seen = []
        for value in (21.0, 22.0, 22.0):
            await house.said(temperature=value)
            wire.get(f"{HALL}/properties/temperature/value")
            seen.append((await wire.answer())[2])
        assert seen == [b"21.0", b"22.0", b"22.0"]


async def test_a_revoked_token_closes_the_door_for_a_head_that_is_known(house: House) -> None:
    async with Wire(house.port, house.secrets["read"]) as wire:
        wire.get(HALL)
        assert (await wire.answer())[0] == 200
        await house.registry.revoke("read")
        wire.get(HALL)
        assert (await wire.answer())[0] == 401


async def test_a_revoked_token_ends_what_is_parked(house: House) -> None:
    async with Wire(house.port, house.secrets["read"]) as wire, Wire(house.port, house.secrets["all"]) as other:
        for one in (wire, other):
            one.get("/api/v1/changes?since=now&wait=60")
        await until(lambda: house.outlet.status()["parked"] == 2)
        await house.registry.revoke("read")
        assert (await wire.answer())[0] == 401
        assert house.outlet.status()["parked"] == 1
        wire.get("/healthz")
        assert (await wire.answer())[0] == 200


async def test_a_stream_and_a_write_are_led_on_with_all_their_bytes(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.get(HALL)
        assert (await wire.answer())[0] == 200
        body = b'{"value":20.5}'
        head = f"PUT {HALL}/properties/setpoint HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}Content-Length: {len(body)}\r\n\r\n"
        wire.send(head.encode() + body)
        assert (await wire.answer())[0] == 200
        assert (at_door(house), led_on(house)) == (0, 1)
        wire.get(HALL)  # stays where it was led, and is served there
        assert (await wire.answer())[0] == 200
        wire.get("/api/v1/changes", "Accept: text/event-stream")
        assert b"text/event-stream" in await wire.reader.readuntil(b"\r\n\r\n")


async def test_a_head_in_pieces_is_led_on(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.send(b"GET /api/v1/things HTTP/1.1\r\nHo")
        await until(lambda: led_on(house) == 1)
        wire.send(f"st: gw.local\r\n{wire.bearer}\r\n".encode())
        assert (await wire.answer())[0] == 200


async def test_what_is_sent_ahead_while_parked_is_answered_afterwards(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.get("/api/v1/changes?since=now&wait=60")
        await until(lambda: house.outlet.status()["parked"] == 1)
        wire.get(f"{HALL}/properties/mode/value")
        wire.get("/nope")
        await house.said(temperature=25.0)
        assert b"25.0" in (await wire.answer())[2]
        assert (await wire.answer())[2] == b'"heat"'
        assert (await wire.answer())[0] == 404


async def test_a_client_that_closes_after_one_answer_is_closed_to(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.get(HALL, "Connection: close")
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await wire.ended() == b""
        assert led_on(house) == 0
    await until(lambda: house.outlet.status()["connections"] == 0)


async def test_a_wait_that_ends_gives_what_has_been_looked_through(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire, Wire(house.port, house.secrets["all"]) as tagged:
        tagged.get(HALL)
        tag = (await tagged.answer())[1]["etag"]
        tagged.get("/api/v1/things/hall/properties/mode/value", f"If-None-Match: {tag}")
        mode = (await tagged.answer())[1]["etag"]
        wire.get("/api/v1/changes?since=now&wait=0.3&thing=nobody")
        tagged.get(f"{HALL}/properties/mode/value", f"If-None-Match: {mode}", "Prefer: wait=1")
        await until(lambda: house.outlet.status()["parked"] == 2)
        await house.said(temperature=25.0)
        body = json.loads((await wire.answer())[2])
        assert body == {"changes": [], "cursor": house.core.journal.cursor(), "more": False}
        status, headers, _ = await tagged.answer()
        assert (status, headers["preference-applied"]) == (304, "wait=1")
        assert house.outlet.status()["parked"] == 0


async def test_different_filters_wait_together_and_are_woken_apart(house: House) -> None:
    """A change that does not pass leaves its asker parked, and the answer that comes later has no gap and nothing twice."""
    async with Wire(house.port, house.secrets["all"]) as warm, Wire(house.port, house.secrets["all"]) as mode:
        cursor = house.core.journal.cursor()
        warm.get(f"/api/v1/changes?since={cursor}&wait=60&property=temperature")
        mode.get(f"/api/v1/changes?since={cursor}&wait=60&property=mode")
        await until(lambda: house.outlet.status()["parked"] == 2)
        await house.said(temperature=25.0)
        assert [change["value"] for change in json.loads((await warm.answer())[2])["changes"]] == [25.0]
        assert house.outlet.status()["parked"] == 1
        async with Wire(house.port, house.secrets["all"]) as late:
            late.get(f"/api/v1/changes?since={house.core.journal.cursor()}&wait=60&property=mode")
            await until(lambda: house.outlet.status()["parked"] == 2)
            await house.said(mode="off")
            answers = [json.loads((await one.answer())[2]) for one in (mode, late)]
        assert [[change["value"] for change in answer["changes"]] for answer in answers] == [["off"], ["off"]]
        assert answers[0]["cursor"] == answers[1]["cursor"] == house.core.journal.cursor()


async def test_a_burst_beyond_memory_reaches_who_is_parked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the ring does not hold any more when the bell rings is read from disk."""
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.get(f"/api/v1/changes?since={house.core.journal.cursor()}&wait=60")
        await until(lambda: house.outlet.status()["parked"] == 1)
        journal = house.core.journal
        monkeypatch.setattr(journal, "recent", lambda after, limit: None if after < journal.head else [])
        await house.said(temperature=25.0)
        assert [change["value"] for change in json.loads((await wire.answer())[2])["changes"]] == [25.0]


async def test_a_thing_that_goes_while_asked_about_is_told(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.get(HALL)
        tag = (await wire.answer())[1]["etag"]
        wire.get(HALL, f"If-None-Match: {tag}", "Prefer: wait=60")
        await until(lambda: house.outlet.status()["parked"] == 1)
        house.core.sources.remove("hall", "test")
        await house.settle()
        status, _, body = await wire.answer()
        assert (status, json.loads(body)["type"]) == (404, "/problems/thing-unknown")


async def test_a_fault_of_ours_while_parked_is_500_and_the_rest_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire, Wire(house.port, house.secrets["all"]) as other:
        wire.get("/api/v1/things")
        tag = (await wire.answer())[1]["etag"]
        wire.get("/api/v1/things", f"If-None-Match: {tag}", "Prefer: wait=60")
        other.get("/api/v1/changes?since=now&wait=60")
        await until(lambda: house.outlet.status()["parked"] == 2)
        monkeypatch.setattr(house.core.state, "snapshot_body", lambda floor: 1 / 0)
        await house.said(temperature=25.0)
        assert (await wire.answer())[0] == 500
        assert (await other.answer())[0] == 200
        assert "ZeroDivisionError" in caplog.text


async def test_a_client_that_takes_nothing_is_served_no_further_and_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds one answer at most: what it sends ahead waits in the kernel."""
    monkeypatch.setattr("gateway.outlets.http.door.DRAIN_S", 0.2)
    async with open_house(tmp_path, Settings(header_timeout_s=0.4)) as house, house.client() as http:
        for number in range(2000):
            house.report(temperature=float(number))
            if number % 100 == 0:
                await house.settle()
        await house.settle()
        async with Wire(house.port, house.secrets["all"]) as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            doors = house.outlet._doors
            assert doors is not None
            (door,) = doors._open
            for number in range(1, 2000):
                wire.get("/api/v1/changes?since=oldest&limit=1000")
                if door._is_paused:
                    break
                await until(lambda number=number: doors.requests == number)  # type: ignore[misc]
            wire.get("/api/v1/things")
            await until(lambda: house.outlet.status()["connections"] == 0, what="it is cut")
            assert doors.requests == number - 1
        assert (await http.get("/api/v1/things")).status_code == 200


async def test_an_idle_connection_is_closed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.outlets.http.door.IDLE_S", 0.1)
    async with open_house(tmp_path, Settings(header_timeout_s=0.4)) as house:
        async with Wire(house.port, house.secrets["all"]) as wire:
            wire.get(HALL)
            assert (await wire.answer())[0] == 200
            assert await wire.ended() == b""
        assert house.outlet.status()["slow_headers"] == 0


async def test_as_many_different_heads_as_come_are_answered(house: House, http: httpx.AsyncClient) -> None:
    """The store of known heads is bounded; who is not in it is only read again."""
    async with Wire(house.port, house.secrets["all"]) as wire:
        for number in range(700):
            wire.get(HALL, f"X-Number: {number}")
            assert (await wire.answer())[0] == 200
        doors = house.outlet._doors
        assert doors is not None
        assert len(doors._heads) <= 512


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_is_gone_before_it_is_accepted_leaves_nothing(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def try_it() -> None:
        async with open_house(tmp_path, Settings(max_connections_per_client=100)) as house:
            for _ in range(3):
                with socket.create_connection(
                    ("127.0.0.1", house.port)
                ) as client:  # in the backlog: this loop is busy here
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
            async with Wire(house.port, house.secrets["read"]) as wire:
                wire.get("/api/v1/things")
                assert (await wire.answer())[0] == 200
            await until(lambda: at_door(house) == 0)
            assert not house.outlet._clients._per_client

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(try_it())
