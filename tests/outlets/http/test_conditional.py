"""Polling and long-polling of state: tags, 304, `Prefer: wait`, and preconditions of writes."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outlets.http.conditional import Preferences, matches, matches_strongly, preferences, seconds
from tests.outlets.http.house import House
from tests.support.wait import until

TAG = '"k3v9-7"'
SETPOINT = "/api/v1/things/hall/properties/setpoint"
RESOURCES = ["/api/v1/things", "/api/v1/things/hall", SETPOINT, f"{SETPOINT}/value"]


@pytest.mark.parametrize(
    ("field", "fits"),
    [
        (TAG, True),
        ('W/"k3v9-7"', True),
        ('"other", "k3v9-7"', True),
        ('"a,b" , W/"k3v9-7"', True),
        ("*", True),
        ("k3v9-7", False),
        ('k3v9-7, "k3v9-7"', True),
        ('"K3V9-7"', False),
        ('"k3v9-7', False),
        ("", False),
        (",,,", False),
    ],
)
def test_if_none_match_compares_weakly_and_an_unquoted_tag_never_fits(field: str, fits: bool) -> None:
    assert matches([field], TAG) is fits


def test_if_none_match_may_come_in_several_lines() -> None:
    assert matches(['"x"', TAG], TAG)


def test_if_match_compares_strongly() -> None:
    assert matches_strongly([TAG], TAG)
    assert matches_strongly(["*"], TAG)
    assert not matches_strongly([f"W/{TAG}"], TAG)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (["wait=20"], Preferences(20)),
        (['wait="20"; x=y, respond-async'], Preferences(20, True)),
        (["Wait = 5, wait=9"], Preferences(5)),
        (["respond-async", "wait=7"], Preferences(7, True)),
        (["wait=3600"], Preferences(60)),
        (["wait=" + "9" * 5000], Preferences(60)),
        (["wait=-1"], Preferences()),
        (["wait=2.5"], Preferences()),
        (["wait"], Preferences()),
        (["handling=lenient, ;;=,,wait=4"], Preferences(4)),
        (['return="a, wait=9", wait=2'], Preferences(2)),
    ],
)
def test_preferences_are_read_leniently_and_capped(fields: list[str], wanted: Preferences) -> None:
    assert preferences(fields) == wanted


@given(st.text(max_size=200))
def test_no_header_can_break_the_parsers(field: str) -> None:
    preferences([field])
    matches([field], TAG)
    seconds(field)


@pytest.mark.parametrize(
    "field", ["a" + " " * 8000 + "x", "a" * 8000 + " !", '"' * 8000, "W/" * 4000, "wait=" + ";" * 8000, " \t" * 4000]
)
def test_no_header_takes_long_to_parse(field: str) -> None:
    """A quadratic pattern would need seconds of the loop's time here."""
    begun_s = time.process_time()
    preferences([field])
    matches([field], TAG)
    assert time.process_time() - begun_s < 0.2


@pytest.mark.parametrize("path", RESOURCES)
async def test_a_known_resource_is_304_with_the_headers_that_the_200_had(http: httpx.AsyncClient, path: str) -> None:
    full = await http.get(path)
    same = await http.get(path, headers={"If-None-Match": f"W/{full.headers['ETag']}"})
    assert (full.status_code, same.status_code, same.content) == (200, 304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert same.headers[name] == full.headers[name]
    assert full.headers["Cache-Control"] == "private, no-cache"
    assert "Content-Type" not in same.headers


@pytest.mark.parametrize("path", RESOURCES)
async def test_an_unquoted_tag_gets_the_whole_answer(http: httpx.AsyncClient, path: str) -> None:
    tag = (await http.get(path)).headers["ETag"].strip('"')
    assert (await http.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_a_records_tag_is_the_seq_of_its_last_row_and_moves_with_it_alone(
    house: House, http: httpx.AsyncClient
) -> None:
    before = await http.get(SETPOINT)
    await house.said(temperature=25.0)
    assert (await http.get(SETPOINT)).headers["ETag"] == before.headers["ETag"]
    await house.said(setpoint=22.0)
    after = await http.get(SETPOINT)
    assert after.headers["ETag"] == f'"{house.core.journal.epoch}-{after.json()["seq"]}"'
    assert after.json()["seq"] == house.core.journal.head


async def test_the_snapshot_joins_the_feed_at_its_cursor(house: House, http: httpx.AsyncClient) -> None:
    snapshot = (await http.get("/api/v1/things")).json()
    await house.said(temperature=25.0)
    feed = (await http.get("/api/v1/changes", params={"since": snapshot["cursor"]})).json()
    assert [change["value"] for change in feed["changes"]] == [25.0]


async def test_a_values_tag_is_of_its_bytes(house: House, http: httpx.AsyncClient) -> None:
    path = "/api/v1/things/hall/properties/temperature/value"
    before = await http.get(path)
    await house.said(temperature=25.0)
    await house.said(temperature=20.5)
    assert (await http.get(path)).headers["ETag"] == before.headers["ETag"]


@pytest.mark.parametrize("path", RESOURCES)
async def test_a_long_poll_is_held_until_the_resource_changes(house: House, http: httpx.AsyncClient, path: str) -> None:
    tag = (await http.get(path)).headers["ETag"]
    held = asyncio.create_task(http.get(path, headers={"If-None-Match": tag, "Prefer": "wait=30"}))
    await until(lambda: house.outlet.status()["parked"] == 1)
    await house.said(setpoint=23.0)
    answer = await held
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=30")
    assert answer.headers["ETag"] != tag
    assert "23.0" in answer.text
    await until(lambda: house.outlet.status()["parked"] == 0)


async def test_a_long_poll_ends_with_304(http: httpx.AsyncClient) -> None:
    tag = (await http.get(SETPOINT)).headers["ETag"]
    answer = await http.get(SETPOINT, headers={"If-None-Match": tag, "Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["Preference-Applied"], answer.headers["ETag"]) == (304, "wait=1", tag)


async def test_a_stale_tag_and_no_tag_are_answered_at_once(house: House, http: httpx.AsyncClient) -> None:
    tag = (await http.get(SETPOINT)).headers["ETag"]
    await house.said(setpoint=23.0)
    assert (await http.get(SETPOINT, headers={"If-None-Match": tag, "Prefer": "wait=60"})).status_code == 200
    assert (await http.get(SETPOINT, headers={"Prefer": "wait=60"})).status_code == 200
    assert house.outlet.status()["most_parked"] == 0


async def test_head_never_waits(house: House, http: httpx.AsyncClient) -> None:
    tag = (await http.get(SETPOINT)).headers["ETag"]
    head = await http.head(SETPOINT, headers={"If-None-Match": tag, "Prefer": "wait=60"})
    assert (head.status_code, "Preference-Applied" in head.headers) == (304, False)
    assert (await http.head("/api/v1/changes?since=now&wait=60")).status_code == 200
    assert (await http.head(f"{SETPOINT}/observe")).status_code == 200
    assert house.outlet.status()["most_parked"] == 0


async def test_what_is_held_on_a_thing_that_goes_is_told_404(house: House, http: httpx.AsyncClient) -> None:
    tag = (await http.get(SETPOINT)).headers["ETag"]
    held = asyncio.create_task(http.get(SETPOINT, headers={"If-None-Match": tag, "Prefer": "wait=30"}))
    await until(lambda: house.outlet.status()["parked"] == 1)
    assert (await http.delete("/api/v1/things/hall")).status_code == 204
    assert (await held).status_code == 404
    assert (await http.get("/api/v1/things")).json()["things"] == []


async def test_writes_keep_their_preconditions(house: House, http: httpx.AsyncClient) -> None:
    tag = (await http.get(SETPOINT)).headers["ETag"]
    refused = await http.put(SETPOINT, json={"value": 21}, headers={"If-Match": '"nothing"'})
    assert (refused.status_code, refused.headers["ETag"]) == (412, tag)
    assert (await http.put(SETPOINT, json={"value": 21}, headers={"If-None-Match": "*"})).status_code == 412
    assert (await http.delete("/api/v1/things/hall", headers={"If-Match": f"W/{tag}"})).status_code == 412
    assert house.sent == []
    assert (await http.put(SETPOINT, json={"value": 21}, headers={"If-Match": tag})).status_code == 200


async def test_observe_answers_with_the_bare_value_when_it_changes(house: House, http: httpx.AsyncClient) -> None:
    held = asyncio.create_task(http.get(f"{SETPOINT}/observe"))
    await until(lambda: house.outlet.status()["parked"] == 1)
    await house.said(temperature=25.0)
    assert not held.done()
    await house.said(setpoint=23.0)
    assert (await held).json() == 23.0


async def test_observe_tells_at_once_of_a_change_between_two_requests(house: House, http: httpx.AsyncClient) -> None:
    held = asyncio.create_task(http.get(f"{SETPOINT}/observe"))
    await until(lambda: house.outlet.status()["parked"] == 1)
    await house.said(setpoint=23.0)
    await held
    await house.said(setpoint=24.0)
    assert (await http.get(f"{SETPOINT}/observe")).json() == 24.0


async def test_observe_says_the_same_again_when_nothing_came(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.outlets.http.things.OBSERVE_S", 0.05)
    answer = await http.get(f"{SETPOINT}/observe")
    assert (answer.status_code, answer.json()) == (200, 19.0)
