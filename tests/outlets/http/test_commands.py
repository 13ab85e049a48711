"""Setting properties: a PUT is a command, held for the device's answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.core import Settings as CoreSettings
from gateway.core.things import Description
from tests.outlets.http.house import House, Settings, open_house
from tests.support.wait import until

SETPOINT = "/api/v1/things/hall/properties/setpoint"


async def put(http: httpx.AsyncClient, value: Any, **headers: str) -> httpx.Response:
    return await http.put(
        SETPOINT, json={"value": value}, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


async def test_a_confirmed_command_is_200_with_who_asked(house: House, http: httpx.AsyncClient) -> None:
    answer = await put(http, 21.5)
    command = answer.json()
    assert answer.status_code == 200
    assert set(command) == {"id", "thing", "name", "value", "state", "reason", "time", "cause"}
    assert (command["state"], command["value"], command["cause"]) == ("confirmed", 21.5, "token:all")
    assert (await http.get(SETPOINT)).json()["value"] == 21.5


async def test_the_bare_value_can_be_put(house: House, http: httpx.AsyncClient) -> None:
    for name, value in (("setpoint", 22), ("mode", "off"), ("light", True)):
        answer = await http.put(f"/api/v1/things/hall/properties/{name}/value", json=value)
        assert (answer.status_code, answer.json()["state"]) == (200, "confirmed")
        assert (await http.get(f"/api/v1/things/hall/properties/{name}/value")).json() == value


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async", "respond-async, wait=30"])
async def test_not_waiting_is_202_with_a_location_that_can_be_long_polled(
    house: House, http: httpx.AsyncClient, prefer: str
) -> None:
    house.obeys = False
    answer = await put(http, 21.5, Prefer=prefer)
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == ("wait=0" if prefer == "wait=0" else "respond-async")
    assert answer.json()["state"] in ("accepted", "sent")
    location = answer.headers["Location"]
    await until(lambda: house.sent)
    await house.settle()
    now = await http.get(location)
    assert now.json()["state"] == "sent"
    held = asyncio.create_task(http.get(location, headers={"If-None-Match": now.headers["ETag"], "Prefer": "wait=30"}))
    await until(lambda: house.outlet.status()["parked"] == 1)
    house.core.commands.refused(house.sent[0].id, "too hot")
    assert (await held).json()["state"] == "rejected"
    ended = await http.get(location)
    same = await http.get(location, headers={"If-None-Match": ended.headers["ETag"], "Prefer": "wait=1"})
    assert same.status_code == 304


async def test_a_thing_that_sleeps_is_not_waited_for_unless_that_is_asked(
    house: House, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.outlets.http.commands.HOLD_S", 600)
    house.intake.describe("hall", Description(sleeps=True))
    house.intake.asleep("hall")
    await house.settle()
    async with asyncio.timeout(20):
        answer = await put(http, 21.5)
    assert (answer.status_code, answer.json()["state"]) == (202, "accepted")
    held = asyncio.create_task(put(http, 22.5, Prefer="wait=30"))
    await until(lambda: house.core.commands.get(answer.json()["id"]).state == "superseded")
    assert not held.done()
    house.intake.awake("hall")
    assert (await held).json()["state"] == "confirmed"
    assert [command.value for command in house.sent] == [22.5]


async def test_the_target_stands_beside_what_is_reported(house: House, http: httpx.AsyncClient) -> None:
    house.obeys = False
    await put(http, 21.5, Prefer="wait=0")
    record = (await http.get(SETPOINT)).json()
    assert (record["target"], record["value"]) == (21.5, 19.0)


async def test_the_wait_for_the_device_ends_with_202(house: House, http: httpx.AsyncClient) -> None:
    house.obeys = False
    answer = await put(http, 21.5, Prefer="wait=1")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")


async def test_where_no_request_can_be_held_an_accepted_command_is_202(tmp_path: Path) -> None:
    """And not 503: it is on its way."""
    async with open_house(tmp_path, Settings(max_parked=1)) as house, house.client() as http:
        held = asyncio.create_task(http.get("/api/v1/changes?since=now&wait=60&type=nothing"))
        await until(lambda: house.outlet.status()["parked"] == 1)
        answer = await put(http, 21.5)
        assert (answer.status_code, "Location" in answer.headers) == (202, True)
        held.cancel()


async def test_what_the_device_refuses_is_502(house: House, http: httpx.AsyncClient) -> None:
    house.obeys = False
    held = asyncio.create_task(put(http, 21.5))
    await until(lambda: house.sent)
    house.core.commands.refused(house.sent[0].id, "too hot")
    answer = await held
    body = answer.json()
    assert (answer.status_code, body["type"], body["detail"]) == (502, "/problems/rejected-by-device", "too hot")
    assert (body["command"]["state"], body["command"]["id"]) == ("rejected", house.sent[0].id)


async def test_what_the_device_does_not_answer_is_504(tmp_path: Path) -> None:
    settings = CoreSettings(commit_gap_s=0.0, answer_timeout_s=0.1)
    async with open_house(tmp_path, core=settings) as house, house.client() as http:
        house.obeys = False
        answer = await put(http, 21.5)
        assert (answer.status_code, answer.json()["type"]) == (504, "/problems/no-answer")
        assert answer.json()["command"]["state"] == "failed"


async def test_a_newer_command_makes_the_older_409(house: House, http: httpx.AsyncClient) -> None:
    house.obeys = False
    older = asyncio.create_task(put(http, 21.5))
    await until(lambda: house.sent)
    newer = await put(http, 22.5, Prefer="wait=0")
    answer = await older
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/command-superseded")
    assert answer.json()["command"]["reason"] == f"by {newer.json()['id']}"


async def test_an_offline_thing_is_503_at_once(house: House, http: httpx.AsyncClient) -> None:
    house.intake.link_down("unplugged")
    await house.settle()
    answer = await put(http, 21.5, Prefer="wait=60")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/thing-offline")
    assert "unplugged" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("value", [4.9, 30.1, "warm", True, None, [], {}, 1e300, 2**70])
async def test_an_impossible_value_is_422_with_the_limits(house: House, http: httpx.AsyncClient, value: Any) -> None:
    answer = await put(http, value)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/out-of-range")
    assert answer.json()["limits"] == {"type": "number", "min": 5.0, "max": 30.0, "step": 0.5}
    assert house.sent == []


@pytest.mark.parametrize(
    ("content", "status", "slug"),
    [
        (b"", 400, "bad-body"),
        (b"{", 400, "bad-body"),
        (b'{"value": NaN}', 400, "bad-body"),
        (b'{"value": 1e999}', 422, "invalid-value"),
        (b"\xff\xfe", 400, "bad-body"),
        (b'{"value":"\xff"}', 400, "bad-body"),
        (b"[" * 50_000, 422, "invalid-value"),
        (b'{"value":' + b"[" * 50_000, 400, "bad-body"),
        (b'{"value":' * 5_000, 400, "bad-body"),
        (b"{}", 422, "invalid-value"),
        (b"[]", 422, "invalid-value"),
        (b'{"value": 21, "more": 1}', 422, "invalid-value"),
        (b'{"value":' + b"1" * 5000 + b"}", 422, "invalid-value"),
        (b" " * 70_000, 413, "body-too-large"),
    ],
)
async def test_a_bad_body_says_what_is_wrong(http: httpx.AsyncClient, content: bytes, status: int, slug: str) -> None:
    answer = await http.put(SETPOINT, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}"), answer.text
    assert (await http.get(SETPOINT)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "application/vnd.x+json"}, 200),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
async def test_only_plain_json_is_read(http: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    """Also so that no form of a foreign page can set anything."""
    answer = await http.put(SETPOINT, content=b'{"value": 21}', headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/api/v1/things/nobody/properties/x", 404, "thing-unknown"),
        ("/api/v1/things/hall/properties/x", 404, "property-unknown"),
        ("/api/v1/things/hall/properties/temperature", 405, "not-writable"),
        ("/api/v1/things/%2e%2e/properties/x", 404, "thing-unknown"),
        ("/api/v1/things/%ff%00/properties/x", 404, "thing-unknown"),
    ],
)
async def test_what_cannot_be_set(http: httpx.AsyncClient, path: str, status: int, slug: str) -> None:
    answer = await http.put(path, json={"value": 1})
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
    assert "Allow" in answer.headers or status != 405


async def test_an_action_that_is_not_there_is_404(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/v1/things/hall/actions/boost")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/action-unknown")


@pytest.mark.parametrize(("first", "second"), [('"k-1"', '"k-1"'), ("k-1", '"k-1"'), (r'"a\"b"', r'"a\"b"')])
async def test_the_same_key_is_the_same_command(house: House, http: httpx.AsyncClient, first: str, second: str) -> None:
    one, two = await put(http, 21.5, Idempotency_Key=first), await put(http, 21.5, Idempotency_Key=second)
    assert one.json()["id"] == two.json()["id"]
    assert len(house.sent) == 1
    other = await put(http, 22.5, Idempotency_Key=second)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")


async def test_another_asker_may_use_the_same_key(house: House, http: httpx.AsyncClient) -> None:
    one = await put(http, 21.5, Idempotency_Key="k")
    async with house.client("control") as other:
        assert (await put(other, 22.5, Idempotency_Key="k")).json()["id"] != one.json()["id"]


@pytest.mark.parametrize("key", ['""', '"' + "x" * 256 + '"', "a b", '"a', '"a"b'])
async def test_a_bad_key_is_400(house: House, http: httpx.AsyncClient, key: str) -> None:
    assert (await put(http, 21.5, Idempotency_Key=key)).status_code == 400
    assert house.sent == []


async def test_commands_are_listed_newest_first(http: httpx.AsyncClient) -> None:
    made = [(await put(http, value)).json()["id"] for value in (20, 21, 22)]
    listed = (await http.get("/api/v1/commands", params={"limit": 2})).json()["commands"]
    assert [command["id"] for command in listed] == made[:0:-1]
    assert (await http.get("/api/v1/commands/nothing")).json()["type"] == "/problems/command-unknown"


async def test_a_put_whose_client_goes_is_carried_out_all_the_same(house: House) -> None:
    house.obeys = False
    async with house.client() as http:
        gone = asyncio.create_task(put(http, 21.5))
        await until(lambda: house.sent)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await until(lambda: house.outlet.status()["parked"] == 0)
    house.core.commands.acked(house.sent[0].id)
    house.report(setpoint=21.5)
    await until(lambda: house.core.commands.get(house.sent[0].id).state == "confirmed")


async def test_alerts_are_listed_and_acknowledged(house: House, http: httpx.AsyncClient) -> None:
    house.core.alerts.raise_("link-down", "usb0", "unplugged")
    await house.settle()
    (alert,) = (await http.get("/api/v1/alerts")).json()["alerts"]
    seen = await http.post(f"/api/v1/alerts/{alert['id']}/acknowledge")
    assert (seen.status_code, seen.json()["acknowledged"]) == (200, "token:all")
    assert (await http.post(f"/api/v1/alerts/{alert['id']}/acknowledge")).status_code == 200
    house.core.alerts.clear("link-down", "usb0")
    await house.settle()
    assert (await http.get("/api/v1/alerts")).json()["alerts"] == []
    assert (await http.post(f"/api/v1/alerts/{alert['id']}/acknowledge")).status_code == 404
