"""Held requests: thousands of them, each answered once; none left behind; all let go at a stop."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from gateway.outlets.http.answer import Answer
from gateway.outlets.http.pace import TURN
from gateway.outlets.http.parking import _LOOKING, Group, Lot
from tests.outlets.http.house import House, Settings, open_house
from tests.outlets.http.wire import Wire
from tests.support.wait import until

HELD = "/api/v1/changes?since=now&wait=60"


@asynccontextmanager
async def wires(house: House, count: int) -> AsyncIterator[list[Wire]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Wire(house.port, house.secrets["all"])) for _ in range(count)]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_thousand_parked_requests_get_each_change_exactly_once(house: House) -> None:
    async with wires(house, 1000) as clients:
        cursors = {house.core.journal.cursor()}
        for round in range(3):
            (cursor,) = cursors
            for client in clients:
                client.get(f"/api/v1/changes?since={cursor}&wait=60")
            await until(lambda: house.outlet.status()["parked"] == 1000)
            await house.said(temperature=30.0 + round)
            bodies = [json.loads((await client.answer())[2]) for client in clients]
            assert {tuple(change["value"] for change in body["changes"]) for body in bodies} == {(30.0 + round,)}
            cursors = {body["cursor"] for body in bodies}
            assert house.outlet.status()["parked"] == 0


async def test_clients_that_vanish_leave_nothing_behind(house: House) -> None:
    before, tasks = descriptors(), len(asyncio.all_tasks())
    for _ in range(3):
        async with wires(house, 100) as clients:
            for number, client in enumerate(clients):
                paths = [HELD, "/api/v1/things/hall/properties/mode/observe", "/api/v1/changes"]
                client.get(paths[number % 3], *(["Accept: text/event-stream"] if number % 3 == 2 else []))
            await until(lambda: house.outlet.status()["parked"] == 100)
        await until(lambda: house.outlet.status()["parked"] == 0, what="their places are free again")
        await until(lambda: house.outlet.status()["connections"] == 0)
    await until(lambda: descriptors() <= before and len(asyncio.all_tasks()) <= tasks)
    assert house.outlet.status()["streams"] == 0


async def test_no_more_than_may_are_parked(tmp_path: Path) -> None:
    async with open_house(tmp_path, Settings(max_parked=2)) as house, wires(house, 4) as clients:
        for client in clients[:2]:
            client.get(HELD)
        await until(lambda: house.outlet.status()["parked"] == 2)
        clients[2].get(HELD)
        status, headers, body = await clients[2].answer()
        assert (status, json.loads(body)["type"]) == (503, "/problems/too-many-parked")
        assert int(headers["retry-after"]) > 0
        clients[3].get("/api/v1/changes", "Accept: text/event-stream")
        assert (await clients[3].answer())[0] == 503
        clients[3].get("/api/v1/things")
        assert (await clients[3].answer())[0] == 200
        await house.said(temperature=25.0)
        for client in clients[:2]:
            assert (await client.answer())[0] == 200
        clients[2].get(HELD)
        await until(lambda: house.outlet.status()["parked"] == 1)
        assert house.outlet.status()["refused_parked"] == 2


async def test_a_stop_answers_all_that_is_held_in_its_ordinary_way(house: House) -> None:
    async with wires(house, 30) as clients, house.client() as http:
        tag = (await http.get("/api/v1/things/hall")).headers["ETag"]
        house.obeys = False
        asking = asyncio.create_task(http.put("/api/v1/things/hall/properties/setpoint", json={"value": 21}))
        for number, client in enumerate(clients):
            [
                lambda c: c.get(HELD),
                lambda c: c.get("/api/v1/things/hall", f"If-None-Match: {tag}", "Prefer: wait=60"),
                lambda c: c.get("/api/v1/changes", "Accept: text/event-stream"),
            ][number % 3](client)
        # The setting of the target is a change by itself, after which the long polls have to be asked again.
        await until(lambda: house.sent and house.outlet.status()["streams"] == 10)
        idle = Wire(house.port)
        async with idle:
            loop = asyncio.get_running_loop()
            begun_s = loop.time()
            await house.outlet.stop()
            assert loop.time() - begun_s < 2
            assert await idle.ended() == b""
            statuses = [(await client.answer())[:2] for client in clients]
            assert {status for status, _ in statuses} <= {200, 304}
            answer = await asking
            assert answer.status_code == 202
            assert answer.headers["Connection"] == "close"
            for client in clients:
                await client.ended()
        assert house.outlet.status()["parked"] == 0


async def test_held_at_a_stop_is_empty_with_the_same_cursor(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as client:
        client.get(HELD)
        await until(lambda: house.outlet.status()["parked"] == 1)
        await house.outlet.stop()
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert json.loads(body) == {"changes": [], "cursor": house.core.journal.cursor(), "more": False}


@pytest.mark.parametrize(
    "path", ["/api/v1/things/hall", "/api/v1/things", "/api/v1/things/hall/properties/temperature"]
)
async def test_many_parked_on_one_resource_all_see_it_change(house: House, http: httpx.AsyncClient, path: str) -> None:
    tag = (await http.get(path)).headers["ETag"]
    async with wires(house, 200) as clients:
        for client in clients:
            client.get(path, f"If-None-Match: {tag}", "Prefer: wait=60")
        await until(lambda: house.outlet.status()["parked"] == 200)
        await house.said(temperature=25.0)
        answers = [await client.answer() for client in clients]
        assert {(status, headers["etag"] != tag) for status, headers, _ in answers} == {(200, True)}
        assert len({body for _, _, body in answers}) == 1


class _Asked:
    """A question of its own kind, of which it is known how often it was looked at."""

    extra, is_lasting, looks = b"", False, 0

    def __init__(self, bell: asyncio.Event, wait_s: float) -> None:
        self._bell, self.wait_s = bell, wait_s

    def key(self) -> int:
        return id(self)

    def bell(self) -> asyncio.Event:
        return self._bell

    def look(self, *, may_wait: bool) -> Answer | None:
        raise NotImplementedError

    async def fetch(self, *, may_wait: bool) -> Answer:
        _Asked.looks += 1
        return Answer(200)


class _Waiting:
    """One who waits."""

    group: Group | None = None
    tick = 0

    def answer(self, answer: Answer, extra: bytes) -> None:
        pass

    def refusal(self) -> None:
        return None


@pytest.mark.parametrize("end", ["a change", "the end of their wait"])
async def test_many_who_ask_different_things_leave_turns_of_the_loop_to_others(end: str) -> None:
    """Nobody's poll waits until a crowd has been answered."""
    lot, bell, _Asked.looks = Lot(1000), asyncio.Event(), 0
    for _ in range(500):
        lot.park(_Waiting(), _Asked(bell, 60 if end == "a change" else 0.1))
    if end == "a change":
        bell.set()
    looks = [0]
    while lot.taken:
        await asyncio.sleep(0)
        looks.append(_Asked.looks)
    assert _Asked.looks == 500
    assert max(now - before for before, now in pairwise(looks)) <= TURN // _LOOKING + 1
    lot.close()
    await lot.closed()
