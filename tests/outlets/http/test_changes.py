"""The lossless feed as JSON."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from gateway.core.change import decode
from tests.outlets.http.house import House
from tests.support.wait import until

FEED = "/api/v1/changes"


async def read(http: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await http.get(FEED, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    body: dict[str, Any] = answer.json()
    return body


async def test_without_since_the_heads_cursor_comes_at_once(house: House, http: httpx.AsyncClient) -> None:
    assert await read(http, wait=60) == {"changes": [], "cursor": house.core.journal.cursor(), "more": False}


async def test_all_changes_come_in_pages_without_a_gap(house: House, http: httpx.AsyncClient) -> None:
    for n in range(25):
        await house.said(temperature=30.0 + n)
    seqs, cursor, more = [], "oldest", True
    while more:
        page = await read(http, since=cursor, limit=4)
        assert page["cursor"] == page["changes"][-1]["id"]
        seqs += [change["seq"] for change in page["changes"]]
        cursor, more = page["cursor"], page["more"]
    assert seqs == list(range(1, house.core.journal.head + 1))


async def test_the_bytes_are_those_of_the_journal(house: House, http: httpx.AsyncClient) -> None:
    answer = await http.get(FEED, params={"since": "oldest"})
    for entry in await house.core.journal.read(0, 100):
        assert entry.body in answer.content
        assert decode(entry.body).seq == entry.seq


async def test_a_held_request_is_answered_by_the_next_change(house: House, http: httpx.AsyncClient) -> None:
    cursor = (await read(http))["cursor"]
    held = asyncio.create_task(read(http, since=cursor, wait=60))
    await until(lambda: house.outlet.status()["parked"] == 1)
    await house.said(temperature=25.0)
    answer = await held
    assert [change["value"] for change in answer["changes"]] == [25.0]
    assert answer["cursor"] == answer["changes"][0]["id"]


async def test_a_filtered_reader_is_not_woken_by_others_and_its_cursor_passes_them(
    house: House, http: httpx.AsyncClient
) -> None:
    cursor = (await read(http))["cursor"]
    held = asyncio.create_task(read(http, since=cursor, wait=60, property="setpoint", thing="h*"))
    await until(lambda: house.outlet.status()["parked"] == 1)
    for n in range(5):
        await house.said(temperature=30.0 + n)
    assert not held.done()
    await house.said(setpoint=23.0)
    assert [change["name"] for change in (await held)["changes"]] == ["setpoint"]
    nothing = await read(http, since=cursor, property="nothing")
    assert nothing == {"changes": [], "cursor": house.core.journal.cursor(), "more": False}


async def test_filters_are_globs_and_repeatable(house: House, http: httpx.AsyncClient) -> None:
    await house.said(thing="attic", temperature=18.0)
    await house.said(thing="Attic", temperature=18.0)
    found = await read(http, since="oldest", thing=["att*", "nobody"], type=["property.*", "thing.added"])
    assert {change["thing"] for change in found["changes"]} == {"attic"}
    both = await read(http, since="oldest", property=["mode", "li??t"])
    assert {change["name"] for change in both["changes"]} == {"mode", "light"}


async def test_when_nothing_comes_the_answer_is_empty_with_a_cursor(house: House, http: httpx.AsyncClient) -> None:
    assert await read(http, since="now", wait=0.05) == {
        "changes": [],
        "cursor": house.core.journal.cursor(),
        "more": False,
    }


async def test_a_wait_by_prefer_and_a_capped_one_are_told(house: House, http: httpx.AsyncClient) -> None:
    preferred = await http.get(FEED, params={"since": "now"}, headers={"Prefer": "wait=1"})
    assert preferred.headers["Preference-Applied"] == "wait=1"
    capped = await http.get(FEED, params={"since": "oldest", "wait": "1e3".replace("1e3", "1000")})
    assert capped.headers["Preference-Applied"] == "wait=60"
    parameter = await http.get(FEED, params={"since": "now", "wait": 0}, headers={"Prefer": "wait=60"})
    assert "Preference-Applied" not in parameter.headers


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"wait": "-1"}, "wait"),
        ({"wait": "soon"}, "wait"),
        ({"wait": "nan"}, "wait"),
        ({"wait": "1e9"}, "wait"),
        ({"wait": "٣"}, "wait"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"since": "yesterday"}, "since"),
        ({"since": "-5"}, "since"),
        ({"since": "x-" + "9" * 50}, "since"),
        ({"thing": ["x"] * 65}, "thing"),
    ],
)
async def test_bad_parameters_are_400_and_named(
    http: httpx.AsyncClient, params: dict[str, Any], parameter: str
) -> None:
    answer = await http.get(FEED, params={"since": "now", **params})
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)


@pytest.mark.parametrize("which", ["foreign", "ahead", "below"])
async def test_a_gone_cursor_is_410_with_where_to_start_again(
    house: House, http: httpx.AsyncClient, which: str
) -> None:
    journal = house.core.journal
    cursors = {"foreign": "aaaaaaaaaaaa-3", "ahead": journal.cursor(journal.head + 10), "below": journal.cursor(1)}
    journal.forget_until(3)
    answer = await http.get(FEED, params={"since": cursors[which], "wait": 60})
    body = answer.json()
    assert (answer.status_code, body["type"]) == (410, "/problems/cursor-gone")
    assert body["cursor"] == journal.cursor()
    assert body["oldest"] == journal.cursor(3)
    assert body["snapshot"] == "/api/v1/things"
    again = await read(http, since=body["oldest"])
    assert again["changes"][0]["seq"] == 4
    assert (await read(http, since=body["cursor"]))["changes"] == []


async def test_oldest_reads_after_the_floor(house: House, http: httpx.AsyncClient) -> None:
    house.core.journal.forget_until(3)
    assert (await read(http, since="oldest"))["changes"][0]["seq"] == 4


async def test_a_far_reader_with_a_narrow_filter_is_led_on_in_steps(
    house: House, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody holds the loop or the disk for long: after so many rows the answer says where it got to."""
    monkeypatch.setattr("gateway.outlets.http.changes._MAX_SCAN", 10)
    monkeypatch.setattr("gateway.outlets.http.changes._CHUNK", 10)
    for n in range(30):
        house.report(temperature=30.0 + n)
    await house.settle()
    first = await read(http, since="oldest", property="nothing", wait=60)
    assert (first["changes"], first["more"]) == ([], True)
    assert first["cursor"] == house.core.journal.cursor(10)
    last = first
    while last["more"]:
        last = await read(http, since=last["cursor"], property="nothing")
    assert last["cursor"] == house.core.journal.cursor()


async def test_readers_of_the_same_share_the_same_bytes(house: House) -> None:
    from gateway.outlets.http.changes import Feed, json_form, parse_ask

    feed = Feed(house.core.journal)
    one = await feed.look(json_form, 0, parse_ask("since=oldest"))
    two = await feed.look(json_form, 0, parse_ask("limit=100"))
    assert one.data is two.data
    await house.said(temperature=33.0)
    assert (await feed.look(json_form, 0, parse_ask("since=oldest"))).data is not one.data


async def test_history_is_newest_first_and_between_times(house: House, http: httpx.AsyncClient) -> None:
    for n in range(6):
        await house.said(temperature=30.0 + n)
    whole = (await http.get("/api/v1/history", params={"thing": "hall", "property": "temperature"})).json()
    assert [change["value"] for change in whole["changes"]] == [35.0, 34.0, 33.0, 32.0, 31.0, 30.0, 20.5]
    assert whole["before"] is None
    middle = whole["changes"][2]["time"]
    upto = (await http.get("/api/v1/history", params={"property": "temperature", "to": middle})).json()
    since = (await http.get("/api/v1/history", params={"property": "temperature", "from": middle})).json()
    assert {c["seq"] for c in upto["changes"]} | {c["seq"] for c in since["changes"]} == {
        c["seq"] for c in whole["changes"]
    }
    page = (await http.get("/api/v1/history", params={"property": "temperature", "limit": 3})).json()
    rest = (await http.get("/api/v1/history", params={"property": "temperature", "before": page["before"]})).json()
    assert page["changes"] + rest["changes"] == whole["changes"]


@pytest.mark.parametrize(
    "params", [{"from": "yesterday"}, {"to": "2026-01-01"}, {"before": "x"}, {"from": "9999-12-31T23:59:59-12:00"}]
)
async def test_bad_times_of_history_are_400(http: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await http.get("/api/v1/history", params=params)
    assert answer.status_code in (200, 400)
    assert answer.status_code == 400 or params == {"from": "9999-12-31T23:59:59-12:00"}


async def test_as_many_globs_as_may_be_and_few_that_are_dear(house: House, http: httpx.AsyncClient) -> None:
    """A request may bring many globs; those that take a regular expression are few, so that reading them holds nobody up."""
    many = await http.get("/api/v1/changes", params={"since": "oldest", "thing": [f"room{n}*x*" for n in range(64)]})
    assert many.status_code == 200
    dear = await http.get("/api/v1/changes", params={"since": "oldest", "thing": [f"room{n}?" for n in range(17)]})
    assert dear.status_code == 400
    assert "at most 16 globs" in dear.json()["detail"]
