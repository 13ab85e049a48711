"""The contract of the HTTP API as a client sees it: tags, held requests, cursors, streams, scopes, host names, problems on everything."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync

_TEMPERATURE = "/api/v1/things/hall/properties/temperature"
_PARKED = "hearthgate_http_parked"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Line(tmp_path_factory.mktemp("line") / "tty") as line:
        yield line


@pytest.fixture(scope="module")
def gateway(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = (
        f'[links.hall]\ndriver = "jsonlines"\nport = "{line.link}"\n'
        '[things.hall.properties."*"]\nmin_interval_s = 0\ndeadband = 0\n'
    )
    with Gateway(tmp_path_factory.mktemp("gateway"), "hosts = ['pi.fritz.box']\n" + config) as gateway:
        line.wait_open()
        yield gateway


@pytest.fixture
def say(gateway: Gateway, line: Line) -> Callable[[float], None]:
    """The thing reports a temperature; returns when readers may see it."""

    def report(value: float) -> None:
        line.write(b'{"temperature":%g,"on":true}\n' % value)
        until_sync(lambda: gateway.value("hall", "temperature") == value)

    report(1)
    return report


def _hold(gateway: Gateway, path: str, act: Callable[[], object], **headers: str) -> tuple[int, dict[str, str], bytes]:
    """What a held GET is answered with, after `act`."""
    found: list[tuple[int, dict[str, str], bytes]] = []
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    thread = threading.Thread(target=lambda: found.append(gateway.request("GET", path, headers=named)), name="held")
    thread.start()
    until_sync(lambda: gateway.metric(_PARKED) == 1, what="it is held")
    act()
    thread.join(30)
    return found[0]


def _raw(gateway: Gateway, text: str) -> tuple[int, dict[str, str], Any]:
    """One request as it is written, without a token; the body is JSON."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as sock:
        sock.sendall(text.replace("\n", "\r\n").encode("latin-1"))
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        body = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, msgspec.json.decode(body)


# -- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/things", "/api/v1/things/hall", _TEMPERATURE, f"{_TEMPERATURE}/value"])
def test_what_has_a_tag_is_polled_and_long_polled_alike(
    gateway: Gateway, say: Callable[[float], None], path: str
) -> None:
    tag = gateway.request("GET", path)[1]["etag"]
    assert gateway.request("GET", path, headers={"If-None-Match": tag})[0] == 304
    status, headers, body = gateway.request("HEAD", path, headers={"If-None-Match": tag, "Prefer": "wait=60"})
    assert (status, body, "preference-applied" in headers) == (304, b"", False)
    status, headers, _ = gateway.request("GET", path, headers={"If-None-Match": tag, "Prefer": "wait=0.1"})
    assert (status, headers["etag"]) == (304, tag)
    status, headers, _ = _hold(gateway, path, lambda: say(2), If_None_Match=tag, Prefer="wait=30")
    assert (status, headers["preference-applied"]) == (200, "wait=30")
    assert headers["etag"] != tag


@pytest.mark.parametrize("path", ["/api/v1/subscriptions", "/api/v1/tokens"])
def test_lists_have_a_tag_and_are_held(gateway: Gateway, path: str) -> None:
    tag = gateway.request("GET", path)[1]["etag"]
    wish: dict[str, Any] = (
        {"name": "held", "scopes": ["read"]} if path.endswith("tokens") else {"url": "https://a.example/"}
    )
    status, headers, _ = _hold(
        gateway, path, lambda: gateway.send("POST", path, wish), If_None_Match=tag, Prefer="wait=9"
    )
    assert (status, headers["preference-applied"]) == (200, "wait=9")


@pytest.mark.parametrize("path", ["/api/v1/changes", "/api/v1/status", "/api/v1/history"])
def test_feeds_and_status_have_no_tag(gateway: Gateway, path: str) -> None:
    assert "etag" not in gateway.request("GET", path)[1]


def test_the_snapshot_and_the_feed_join(gateway: Gateway, say: Callable[[float], None]) -> None:
    snapshot = gateway.get("/api/v1/things")
    assert set(snapshot) == {"things", "cursor"}
    say(5)
    found = gateway.changes(snapshot["cursor"], "&property=temperature")
    assert [change["value"] for change in found] == [5]
    record = gateway.record("hall", "temperature")
    assert {"value", "unit", "quality", "reason", "time", "target", "seq"} <= set(record)
    assert record["seq"] == found[0]["seq"]
    assert found[0]["id"] == gateway.get("/api/v1/changes")["cursor"]


def test_an_observer_is_answered_with_the_bare_value(gateway: Gateway, say: Callable[[float], None]) -> None:
    path = f"{_TEMPERATURE}/observe"
    assert gateway.request("HEAD", path)[0] == 200
    status, _, body = _hold(gateway, path, lambda: say(7.5))
    assert (status, body) == (200, b"7.5")


# -- the feed --------------------------------------------------------------------------------------------------------


def test_cursors_that_cannot_be_used_are_told_apart(gateway: Gateway) -> None:
    status, headers, body = gateway.request("GET", "/api/v1/changes?since=aaaaaaaaaaaa-5&wait=60")
    problem = msgspec.json.decode(body)
    head = gateway.get("/api/v1/changes")["cursor"]
    assert (status, headers["content-type"], problem["type"]) == (
        410,
        "application/problem+json",
        "/problems/cursor-gone",
    )
    assert (problem["cursor"], problem["snapshot"]) == (head, "/api/v1/things")
    assert gateway.request("GET", f"/api/v1/changes?since={problem['oldest']}")[0] == 200
    assert gateway.request("GET", "/api/v1/changes?since=yesterday")[0] == 400


def test_the_cursor_passes_filtered_rows(gateway: Gateway, say: Callable[[float], None]) -> None:
    answer = gateway.get("/api/v1/changes?since=oldest&thing=nobody*&wait=0.1")
    assert (answer["changes"], answer["more"]) == ([], False)
    assert answer["cursor"] == gateway.get("/api/v1/changes?since=now")["cursor"]
    page = gateway.get("/api/v1/changes?since=oldest&limit=1")
    assert (len(page["changes"]), page["more"], page["cursor"]) == (1, True, page["changes"][0]["id"])


def test_a_stream_goes_on_after_the_last_event_id_and_a_gone_one_begins_with_reset(
    gateway: Gateway, say: Callable[[float], None]
) -> None:
    before = gateway.get("/api/v1/changes")["cursor"]
    say(11)
    event = _first_event(gateway, "?since=now&property=temperature", before)
    newest = gateway.changes(before, "&property=temperature")[0]
    assert "event" not in event
    assert (event["id"], msgspec.json.decode(event["data"])) == (newest["id"], newest)
    event = _first_event(gateway, "?since=now", "aaaaaaaaaaaa-5")
    assert event["event"] == "reset"
    assert msgspec.json.decode(event["data"])["type"] == "/problems/cursor-gone"


def _first_event(gateway: Gateway, query: str, last: str) -> dict[str, str]:
    """The first event with data of a stream, field by field."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last, "Authorization": f"Bearer {gateway.token}"}
    connection.request("GET", f"/api/v1/changes{query}", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    fields: dict[str, str] = {}
    while "data" not in fields:
        fields = {}
        while text := answer.readline().decode().rstrip("\n"):
            name, _, value = text.partition(": ")
            fields[name] = value
    connection.close()
    return fields


# -- who may ask -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]:80", "pi.local", "PI.fritz.box:8420"])
def test_names_of_ours_are_answered(gateway: Gateway, host: str) -> None:
    assert _raw(gateway, f"GET /readyz HTTP/1.1\nHost: {host}\n\n")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "pi.local.evil.example", "127.0.0.1.evil.example"])
def test_other_names_are_not(gateway: Gateway, host: str) -> None:
    status, _, problem = _raw(gateway, f"GET /readyz HTTP/1.1\nHost: {host}\n\n")
    assert (status, problem["type"]) == (421, "/problems/misdirected")


@pytest.mark.parametrize("path", ["/api/v1/things", "/api/v1/changes", "/api/v1/status", "/api/v1/tokens", "/metrics"])
def test_without_a_token_it_is_401(gateway: Gateway, path: str) -> None:
    status, headers, problem = _raw(gateway, f"GET {path} HTTP/1.1\nHost: 127.0.0.1\n\n")
    assert (status, problem["status"], headers["content-type"]) == (401, 401, "application/problem+json")
    assert headers["www-authenticate"].startswith("Bearer")


def test_without_the_scope_it_is_403(gateway: Gateway, say: Callable[[float], None]) -> None:
    token = gateway.send("POST", "/api/v1/tokens", {"name": "reader", "scopes": ["read"]})[1]["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert gateway.request("GET", "/api/v1/things", headers=bearer)[0] == 200
    for method, path, scope in (
        ("PUT", _TEMPERATURE, "control"),
        ("GET", "/api/v1/tokens", "admin"),
        ("POST", "/api/v1/subscriptions", "admin"),
        ("DELETE", "/api/v1/things/hall", "admin"),
    ):
        status, headers, _ = gateway.request(method, path, {} if method != "GET" else None, bearer)
        assert status == 403
        assert f'scope="{scope}"' in headers["www-authenticate"]


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("NONSENSE\n\n", 400),
        ("GET /readyz HTTP/1.1\n\n", 400),
        ("GET /readyz HTTP/1.1\nHost: 127.0.0.1\nContent-Length: x\n\n", 400),
        (f"GET /{'a' * 9000} HTTP/1.1\nHost: 127.0.0.1\n\n", 431),
        ("GET /nothing HTTP/1.1\nHost: 127.0.0.1\n\n", 404),
        ("PATCH /readyz HTTP/1.1\nHost: 127.0.0.1\n\n", 405),
    ],
)
def test_whatever_is_wrong_is_a_problem(gateway: Gateway, text: str, status: int) -> None:
    answer, headers, problem = _raw(gateway, text)
    assert (answer, headers["content-type"]) == (status, "application/problem+json")
    assert problem["status"] == status
    assert {"type", "title", "detail", "hint"} <= set(problem)


def test_every_path_of_the_api_is_described(gateway: Gateway) -> None:
    document = gateway.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    assert {"/api/v1/things", "/api/v1/changes", "/api/v1/commands/{command}", "/readyz"} <= set(document["paths"])


def test_a_thing_that_is_forgotten_is_gone_until_it_speaks(gateway: Gateway, say: Callable[[float], None]) -> None:
    """The last one here: it takes the thing away."""
    assert gateway.send("DELETE", "/api/v1/things/hall") == (204, None)
    assert gateway.send("DELETE", "/api/v1/things/hall")[0] == 404
    assert gateway.changes(query="&type=thing.removed")[-1]["cause"].startswith("token:")
    say(12)
