"""Subscriptions through the API, with the real webhooks outlet behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.outlets.http.house import House, open_house
from tests.support.wait import until

BASE = "/api/v1/subscriptions"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, with_webhooks=True) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Takes everything that is sent to it."""
    got: list[dict[str, Any]] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        got.append(await request.json())
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site.port}/hook", got
    await runner.cleanup()


async def test_a_subscription_is_made_used_changed_and_ended(
    house: House, http: httpx.AsyncClient, receiver: tuple[str, list[dict[str, Any]]]
) -> None:
    url, got = receiver
    made = await http.post(BASE, json={"url": url, "things": ["hall"], "name": "cloud"})
    body = made.json()
    assert (made.status_code, made.headers["Cache-Control"], body["state"]) == (201, "no-store", "active")
    assert body["secret"].startswith("whsec_")
    assert body["cursor"].startswith(house.core.journal.epoch)
    path = made.headers["Location"]
    await house.said(temperature=25.0)
    await until(lambda: got)
    assert got[0]["data"]["value"] == 25.0

    one = await http.get(path)
    assert "secret" not in one.json()
    assert (await http.get(path, headers={"If-None-Match": one.headers["ETag"]})).status_code == 304
    held = asyncio.create_task(http.get(path, headers={"If-None-Match": one.headers["ETag"], "Prefer": "wait=30"}))
    await until(lambda: house.outlet.status()["parked"] == 1)
    paused = await http.patch(path, json={"state": "paused"}, headers={"If-Match": one.headers["ETag"]})
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert (await held).json()["state"] == "paused"
    assert (
        await http.patch(path, json={"state": "active"}, headers={"If-Match": one.headers["ETag"]})
    ).status_code == 412

    assert [sub["id"] for sub in (await http.get(BASE)).json()["subscriptions"]] == [body["id"]]
    assert (await http.get(f"{path}/status")).json()["delivered"] >= 1
    assert (await http.post(f"{path}/ping")).json()["ok"] is True
    assert (await http.get(f"{path}/attempts", params={"limit": 1})).status_code == 200
    assert (await http.get(f"{path}/dead-letters")).json() == {"dead_letters": []}
    rotated = await http.post(f"{path}/rotate")
    assert rotated.json()["secret"].startswith("whsec_")
    assert (await http.post(f"{path}/rotate", json={"overlap_s": 60})).status_code == 409
    assert (await http.delete(f"{path}/old-secret")).json()["old_secret_until"] is None
    assert (await http.delete(path)).status_code == 204
    assert (await http.get(path)).json()["type"] == "/problems/subscription-unknown"


async def test_what_came_is_delivered_again_when_asked(
    house: House, http: httpx.AsyncClient, receiver: tuple[str, list[dict[str, Any]]]
) -> None:
    url, got = receiver
    cursor = house.core.journal.cursor()
    path = (await http.post(BASE, json={"url": url, "properties": ["temperature"]})).headers["Location"]
    await house.said(temperature=25.0)
    await until(lambda: len(got) == 1)
    again = await http.post(f"{path}/redeliver", json={"id": got[0]["data"]["id"]})
    assert (again.status_code, again.json()["ok"], len(got)) == (200, True, 2)
    assert (await http.post(f"{path}/replay", json={"since": cursor})).status_code == 202
    await until(lambda: len(got) == 3)
    assert got[0]["data"] == got[1]["data"] == got[2]["data"]


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"url": "ftp://x/"}, 422),
        ({"url": "http://169.254.169.254/"}, 422),
        ({"url": ""}, 422),
        ({}, 422),
        ({"url": "http://127.0.0.1:1/", "batch": -1}, 422),
        ({"url": "http://127.0.0.1:1/", "events": "x"}, 422),
        ({"url": "http://127.0.0.1:1/", "more": 1}, 422),
        ({"url": "http://127.0.0.1:1/", "since": "x"}, 400),
        ({"url": "http://127.0.0.1:1/", "since": "aaaaaaaaaaaa-3"}, 410),
    ],
)
async def test_what_cannot_be_subscribed_says_why(http: httpx.AsyncClient, wish: dict[str, Any], status: int) -> None:
    answer = await http.post(BASE, json=wish)
    assert answer.status_code == status, answer.text
    assert answer.json()["hint"]


async def test_unknown_ones_and_letters_are_404(house: House, http: httpx.AsyncClient) -> None:
    made = await http.post(BASE, json={"url": "http://127.0.0.1:1/", "things": ["nothing"]})
    path = made.headers["Location"]
    for method, tail in [
        ("POST", "/dead-letters/7/resend"),
        ("DELETE", "/dead-letters/7"),
        ("DELETE", "/dead-letters/x"),
    ]:
        assert (await http.request(method, path + tail)).status_code == 404
        assert (await http.request(method, f"{BASE}/nothing{tail}")).status_code == 404
    assert (await http.post(f"{path}/redeliver", json={"id": "nothing"})).status_code == 404


async def test_without_webhooks_they_are_said_not_to_be_there(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.client() as http:
        answer = await http.get(BASE)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-configured")
