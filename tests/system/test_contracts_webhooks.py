"""A receiver's contract: what a delivery looks like, byte for byte, and which subscriptions may be made."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest

from tests.support.broker import free_port
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.receiver_thread import ReceiverThread
from tests.support.wait import until_sync

_SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of key").decode()
_PATH = "/api/v1/subscriptions"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Line(tmp_path_factory.mktemp("line") / "tty") as line:
        yield line


@pytest.fixture(scope="module")
def fixed() -> Iterator[ReceiverThread]:
    """The receiver of the configuration's own subscription; it verifies every signature by another maker's library."""
    with ReceiverThread() as receiver:
        receiver.expect(_SECRET)
        yield receiver


@pytest.fixture(scope="module")
def gateway(line: Line, fixed: ReceiverThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "secret").write_text(_SECRET + "\n")
    config = (
        f'[webhooks]\nallow = ["loopback"]\n[[webhooks.subscriptions]]\nname = "cloud"\nurl = "{fixed.url}"\n'
        f'things = ["ha*"]\nsecret_file = "{folder / "secret"}"\n'
        f'[links.usb]\ndriver = "jsonlines"\nport = "{line.link}"\n[things."*".properties."*"]\nmin_interval_s = 0\n'
    )
    with Gateway(folder, config) as gateway:
        line.wait_open()
        yield gateway


def _tell(gateway: Gateway, line: Line, thing: str, name: str, value: float) -> dict[str, Any]:
    """The change that a reading becomes."""
    since = gateway.get("/api/v1/changes")["cursor"]
    line.write(msgspec.json.encode({"thing": thing, "values": {name: value}}) + b"\n")
    query = f"&thing={thing}&property={name}"
    until_sync(lambda: gateway.changes(since, query), what=f"{thing}/{name} is journaled")
    return gateway.changes(since, query)[0]


def test_a_delivery_is_what_two_standards_say(gateway: Gateway, line: Line, fixed: ReceiverThread) -> None:
    change = _tell(gateway, line, "hall", "temperature", 21.5)
    until_sync(lambda: fixed.requests)
    request = fixed.requests[-1]
    assert request.json == {"type": "property.changed", "timestamp": change["time"], "data": change}
    sent = request.headers
    wanted = {
        "content-type": "application/json",
        "webhook-id": change["id"],
        "ce-specversion": "1.0",
        "ce-id": change["id"],
        "ce-source": "urn:hearthgate:test",
        "ce-type": "property.changed",
        "ce-time": change["time"],
    }
    assert wanted.items() <= dict(sent).items()
    assert sent["webhook-signature"].startswith("v1,")
    assert abs(int(sent["webhook-timestamp"]) - datetime.fromisoformat(change["time"]).timestamp()) < 60
    assert fixed.refused == 0


def test_a_subscription_is_active_at_once_from_now_on_and_shows_its_secret_once(gateway: Gateway, line: Line) -> None:
    _tell(gateway, line, "attic", "humidity", 40)
    with ReceiverThread() as receiver:
        wish = {"url": receiver.url, "events": ["property.*"], "things": ["at*"], "properties": ["temp*"], "name": "me"}
        status, headers, body = gateway.request("POST", _PATH, wish)
        made = msgspec.json.decode(body)
        assert (status, made["state"], made["cursor"]) == (201, "active", gateway.get("/api/v1/changes")["cursor"])
        assert made["secret"].startswith("whsec_")
        assert headers["location"] == f"{_PATH}/{made['id']}"
        assert "secret" not in gateway.get(headers["location"])
        receiver.expect(made["secret"])
        _tell(gateway, line, "attic", "humidity", 41)
        _tell(gateway, line, "hall", "temperature", 22)
        wanted = _tell(gateway, line, "attic", "temperature", 19)
        until_sync(lambda: receiver.delivered)
        assert [taken.change for taken in receiver.delivered] == [wanted]
        assert gateway.request("POST", f"{headers['location']}/ping", {})[0] < 300
        until_sync(lambda: receiver.count == 2, what="the ping")
        assert receiver.requests[-1].json["type"] == "webhook.ping"
        assert gateway.send("DELETE", headers["location"])[0] == 204


def test_since_oldest_delivers_what_was(gateway: Gateway, line: Line) -> None:
    with ReceiverThread() as receiver:
        _tell(gateway, line, "hall", "temperature", 23)
        changes = gateway.changes()
        made = gateway.send("POST", _PATH, {"url": receiver.url, "events": ["*"], "since": "oldest"})[1]
        until_sync(lambda: len(receiver.delivered) >= len(changes))
        assert [taken.change for taken in receiver.delivered][: len(changes)] == changes
        assert gateway.send("DELETE", f"{_PATH}/{made['id']}")[0] == 204


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({}, 422),
        ({"url": "ftp://a.example/"}, 422),
        ({"url": "https://user:secret@a.example/"}, 422),
        ({"url": "http://169.254.169.254/latest"}, 422),
        ({"url": "https://a.example/", "events": ["no.such"]}, 422),
        ({"url": "https://a.example/", "colour": "red"}, 422),
        ({"url": "https://a.example/", "since": "yesterday"}, 400),
        ({"url": "https://a.example/", "since": "aaaaaaaaaaaa-5"}, 410),
    ],
)
def test_a_wish_that_cannot_be_met_is_a_problem(gateway: Gateway, wish: dict[str, Any], status: int) -> None:
    answer, headers, body = gateway.request("POST", _PATH, wish)
    assert (answer, headers["content-type"]) == (status, "application/problem+json")
    assert b"secret@" not in body


def test_a_receiver_that_is_gone_ends_its_subscription_with_an_alert(gateway: Gateway, line: Line) -> None:
    with ReceiverThread() as receiver:
        made = gateway.send("POST", _PATH, {"url": receiver.url, "name": "leaving"})[1]
        receiver.answer(410)
        _tell(gateway, line, "hall", "temperature", 24)
        until_sync(lambda: gateway.get(f"{_PATH}/{made['id']}")["state"] == "ended")
    assert "webhook-ended" in [alert["kind"] for alert in gateway.get("/api/v1/alerts")["alerts"]]


def test_nobody_there_is_told_with_its_lag(gateway: Gateway, line: Line) -> None:
    made = gateway.send("POST", _PATH, {"url": f"http://127.0.0.1:{free_port()}/", "name": "away"})[1]
    _tell(gateway, line, "hall", "temperature", 25)
    status = f"{_PATH}/{made['id']}/status"
    until_sync(lambda: gateway.get(status)["failed"] >= 1)
    assert gateway.get(status)["lag"] >= 1
    assert gateway.metric("hearthgate_webhook_lag", id=made["id"]) >= 1
