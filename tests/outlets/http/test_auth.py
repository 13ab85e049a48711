"""Who is let in: tokens and scopes, host names, and tokens that are revoked while their requests are held."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.outlets.http.house import House, Settings, open_house
from tests.support.wait import until

OPEN = ["/", "/healthz", "/readyz", "/openapi.json", "/page/page.js", "/problems/cursor-gone"]
SETPOINT = "/api/v1/things/hall/properties/setpoint"
NEEDS = [
    ("GET", "/api/v1/things", "read"),
    ("GET", "/api/v1/changes", "read"),
    ("GET", "/api/v1/history", "read"),
    ("GET", "/api/v1/status", "read"),
    ("GET", "/metrics", "read"),
    ("GET", "/api/v1/commands", "read"),
    ("PUT", SETPOINT, "control"),
    ("PUT", f"{SETPOINT}/value", "control"),
    ("POST", "/api/v1/things/hall/actions/boost", "control"),
    ("POST", "/api/v1/alerts/x/acknowledge", "control"),
    ("DELETE", "/api/v1/things/hall", "admin"),
    ("GET", "/api/v1/tokens", "admin"),
    ("POST", "/api/v1/tokens", "admin"),
    ("DELETE", "/api/v1/tokens/read", "admin"),
    ("GET", "/api/v1/subscriptions", "admin"),
    ("POST", "/api/v1/subscriptions", "admin"),
]


@pytest.mark.parametrize("path", OPEN)
async def test_these_are_open_to_everybody(house: House, path: str) -> None:
    async with house.client(None) as nobody:
        assert (await nobody.get(path)).status_code == 200


@pytest.mark.parametrize(("method", "path", "scope"), NEEDS)
async def test_without_a_token_401_with_another_scope_403(house: House, method: str, path: str, scope: str) -> None:
    async with house.client(None) as nobody:
        answer = await nobody.request(method, path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="hearthgate"')
        assert answer.json()["type"] == "/problems/unauthorized"
    for other in {"read", "control", "admin"} - {scope}:
        async with house.client(other) as somebody:
            answer = await somebody.request(method, path)
            assert answer.status_code == 403
            assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "sent", ["Bearer wrong", "Bearer", "bearer hg_" + "x" * 43, "Basic dTpw", "Bearer \xff\xfe", "hg_x", "Bearer a b"]
)
async def test_a_bad_token_is_401(house: House, sent: str) -> None:
    async with house.client(None) as nobody:
        answer = await nobody.get("/api/v1/things", headers=[(b"Authorization", sent.encode("latin-1"))])
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_the_scheme_may_be_written_in_any_case(house: House) -> None:
    async with house.client(None) as somebody:
        answer = await somebody.get("/api/v1/things", headers={"Authorization": f"bEARER {house.secrets['read']}"})
        assert answer.status_code == 200


async def test_with_open_read_the_lan_may_read_but_never_write(tmp_path: Path) -> None:
    async with open_house(tmp_path, Settings(open_read=True)) as house, house.client(None) as nobody:
        for method, path, scope in NEEDS:
            answer = await nobody.request(method, path)
            assert (answer.status_code == 401) is (scope != "read"), path
        wrong = await nobody.get("/api/v1/things", headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8420",
        "[::1]:8420",
        "[fe80::1%25eth0]:80",
        "localhost",
        "Hall.LOCAL:8420",
        "hall.local.",
        "PI.example:1",
    ],
)
async def test_it_answers_to_its_own_names(house: House, http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/api/v1/things", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "local", "evil.local.example", "", "[", "1.2.3", "a@127.0.0.1"]
)
async def test_another_host_name_is_turned_away(http: httpx.AsyncClient, host: str) -> None:
    """DNS rebinding: the page of an attacker whose name resolves to the gateway."""
    answer = await http.get("/healthz", headers={"Host": host})
    assert (answer.status_code, answer.json()["type"]) == (421, "/problems/misdirected")


async def test_a_token_is_made_once_shown_and_revoked(house: House, http: httpx.AsyncClient) -> None:
    made = await http.post("/api/v1/tokens", json={"name": "phone", "scopes": ["read"]})
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    secret = made.json()["token"]
    listed = await http.get("/api/v1/tokens")
    assert secret not in listed.text
    assert [token["scopes"] for token in listed.json()["tokens"] if token["name"] == "phone"] == [["read"]]
    bearer = {"Authorization": f"Bearer {secret}"}
    async with house.client(None) as phone:
        assert (await phone.get("/api/v1/things", headers=bearer)).status_code == 200
        assert (await http.delete(made.headers["Location"])).status_code == 204
        assert (await phone.get("/api/v1/things", headers=bearer)).status_code == 401
    assert (await http.delete(made.headers["Location"])).status_code == 404


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"name": "read", "scopes": ["read"]}, 409),
        ({"name": "x", "scopes": ["root"]}, 422),
        ({"name": "x", "scopes": []}, 422),
        ({"name": "", "scopes": ["read"]}, 422),
        ({"name": "a\nb", "scopes": ["read"]}, 422),
        ({"name": "x"}, 422),
        ({"name": "x", "scopes": ["read"], "more": 1}, 422),
        ([], 422),
    ],
)
async def test_a_token_that_cannot_be_made(http: httpx.AsyncClient, wish: object, status: int) -> None:
    answer = await http.post("/api/v1/tokens", json=wish)
    assert answer.status_code == status, answer.text


async def test_held_requests_of_a_revoked_token_end_at_once(house: House, http: httpx.AsyncClient) -> None:
    """A long poll is told 401, a stream is ended; those of others stay."""
    async with house.client("read") as reader:
        poll = asyncio.create_task(reader.get("/api/v1/changes?since=now&wait=60"))
        others = asyncio.create_task(http.get("/api/v1/changes?since=now&wait=60"))
        async with reader.stream("GET", "/api/v1/changes", headers={"Accept": "text/event-stream"}) as stream:
            await until(lambda: house.outlet.status()["parked"] == 3)
            assert (await http.delete("/api/v1/tokens/read")).status_code == 204
            assert (await poll).status_code == 401
            assert b"".join([part async for part in stream.aiter_bytes()]) == b"retry: 3000\n\n"
        assert not others.done()
        await house.said(temperature=25.0)
        assert (await others).status_code == 200


async def test_a_token_revoked_by_another_process_is_noticed(house: House) -> None:
    """The command line writes the same file."""
    import sqlite3

    async with house.client("read") as reader:
        assert (await reader.get("/api/v1/things")).status_code == 200
        with sqlite3.connect(house.registry.path) as other:
            other.execute("DELETE FROM tokens WHERE name = 'read'")
        other.close()
        held = asyncio.create_task(reader.get("/api/v1/changes?since=now&wait=60"))
        await until(lambda: house.registry.refresh() or held.done())
        assert (await held).status_code == 401
