"""A command's contract, with the device in the hand of the test: which status each of its ends has over HTTP, and what the body says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync

_DESCRIBED = (
    b'{"thing":"hall","describe":{"model":"TH-2","properties":{"temperature":{"type":"number","unit":"\xc2\xb0C"},'
    b'"setpoint":{"type":"number","unit":"\xc2\xb0C","writable":true,"min":5,"max":30,"step":0.5}}}}\n'
    b'{"thing":"hall","values":{"temperature":20.8,"setpoint":20}}\n'
)
_SETPOINT = "/api/v1/things/hall/properties/setpoint"


class Device:
    """A thermostat that answers when the test says so."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._taken = 0

    def say(self, message: dict[str, Any]) -> None:
        self._line.write(msgspec.json.encode({"thing": "hall"} | message) + b"\n")

    def hear(self) -> dict[str, Any]:
        """The next command that it is given."""
        until_sync(lambda: len(self._commands()) > self._taken, what="the device hears a command")
        self._taken += 1
        return self._commands()[self._taken - 1]

    def confirm(self, command: dict[str, Any]) -> None:
        self.say({"ack": command["id"]})
        self.say({"values": command["set"]})

    def _commands(self) -> list[dict[str, Any]]:
        whole = [line for line in self._line.received().split(b"\n")[:-1] if line]
        return [said for said in map(msgspec.json.decode, whole) if "set" in said]


class Put:
    """A PUT under way."""

    def __init__(self, gateway: Gateway, value: Any, *, path: str = _SETPOINT, **headers: str) -> None:
        body = value if path.endswith("/value") else {"value": value}
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self._thread = threading.Thread(target=lambda: self._ask(gateway, path, body, named), name="put")
        self._thread.start()

    def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        self._thread.join(30)
        status, headers, body = self._answer
        return status, headers, msgspec.json.decode(body)

    def _ask(self, gateway: Gateway, path: str, body: Any, headers: dict[str, str]) -> None:
        self._answer = gateway.request("PUT", path, body, headers)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Line(tmp_path_factory.mktemp("line") / "tty") as line:
        yield line


@pytest.fixture(scope="module")
def gateway(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = (
        f'[links.usb]\ndriver = "jsonlines"\nport = "{line.link}"\n[commands]\nanswer_timeout_s = 0.5\n'
        '[things.hall.properties."*"]\nmin_interval_s = 0\n'
    )
    with Gateway(tmp_path_factory.mktemp("gateway"), config) as gateway:
        line.wait_open()
        yield gateway


@pytest.fixture(scope="module")
def device(gateway: Gateway, line: Line) -> Device:
    line.write(_DESCRIBED)
    until_sync(lambda: gateway.value("hall", "setpoint") == 20)
    return Device(line)


def test_confirmed_is_200_with_the_whole_command(gateway: Gateway, device: Device) -> None:
    put = Put(gateway, 21.5)
    command = device.hear()
    assert command == {"thing": "hall", "set": {"setpoint": 21.5}, "id": command["id"]}
    assert gateway.get(f"/api/v1/commands/{command['id']}")["state"] == "sent"
    assert gateway.record("hall", "setpoint")["target"] == 21.5
    assert gateway.value("hall", "setpoint") == 20
    device.confirm(command)
    status, _, body = put.answer()
    assert status == 200
    assert set(body) == {"id", "thing", "name", "value", "state", "reason", "time", "cause"}
    assert (body["state"], body["value"], body["id"]) == ("confirmed", 21.5, command["id"])
    assert body["cause"].startswith("token:")


def test_a_bare_value_is_put_the_same_way(gateway: Gateway, device: Device) -> None:
    put = Put(gateway, 19.5, path=f"{_SETPOINT}/value")
    device.confirm(device.hear())
    assert put.answer()[0] == 200


def test_a_report_within_a_step_confirms_without_an_acknowledgement(gateway: Gateway, device: Device) -> None:
    """Plain firmware rounds and never says `ack`; what it had before, said again, is no answer."""
    put = Put(gateway, 21.3)
    device.hear()
    device.say({"values": {"setpoint": 21.5}})
    status, _, body = put.answer()
    assert (status, body["state"], body["value"]) == (200, "confirmed", 21.3)
    put = Put(gateway, 21.2)
    device.hear()
    device.say({"values": {"setpoint": 21.5}})
    assert put.answer()[0] == 504


def test_refused_is_502_and_unanswered_504(gateway: Gateway, device: Device) -> None:
    put = Put(gateway, 22)
    device.say({"nak": device.hear()["id"], "error": "frost"})
    status, headers, body = put.answer()
    assert (status, headers["content-type"], body["command"]["state"]) == (502, "application/problem+json", "rejected")
    assert "frost" in body["detail"]
    put = Put(gateway, 23)
    device.hear()
    status, _, body = put.answer()
    assert (status, body["command"]["state"]) == (504, "failed")


def test_not_yet_is_202_and_its_location_is_held_until_the_outcome(gateway: Gateway, device: Device) -> None:
    put = Put(gateway, 24, Prefer="wait=0")
    command = device.hear()
    status, headers, body = put.answer()
    assert (status, headers["preference-applied"]) == (202, "wait=0")
    assert headers["location"] == f"/api/v1/commands/{body['id']}"
    until_sync(lambda: gateway.get(headers["location"])["state"] == "sent")
    tag = gateway.request("GET", headers["location"])[1]["etag"]
    device.confirm(command)
    held = {"If-None-Match": tag, "Prefer": "wait=20"}
    status, told, text = gateway.request("GET", headers["location"], headers=held)
    assert (status, msgspec.json.decode(text)["state"]) == (200, "confirmed")
    assert told["preference-applied"] == "wait=20"


def test_superseded_is_409(gateway: Gateway, device: Device) -> None:
    first = Put(gateway, 26)
    device.hear()
    second = Put(gateway, 27)
    status, _, body = first.answer()
    assert (status, body["command"]["state"]) == (409, "superseded")
    device.confirm(device.hear())
    assert second.answer()[0] == 200


@pytest.mark.parametrize("value", [4.5, 30.5, "warm", True, None])
def test_out_of_range_is_422_with_the_limits(gateway: Gateway, device: Device, value: Any) -> None:
    status, _, body = Put(gateway, value).answer()
    assert status == 422
    assert body["limits"] == {"type": "number", "min": 5, "max": 30, "step": 0.5}


def test_an_idempotency_key_makes_one_command_of_two_requests(gateway: Gateway, device: Device) -> None:
    said = {"Prefer": "wait=0", "Idempotency_Key": "once"}
    first, second = (Put(gateway, 18, **said).answer() for _ in range(2))
    assert first[2]["id"] == second[2]["id"]
    assert Put(gateway, 17, **said).answer()[0] == 422
    device.confirm(device.hear())


def test_an_offline_thing_is_503_at_once(gateway: Gateway, device: Device, line: Line) -> None:
    """The last one here: it pulls the plug."""
    line.unplug()
    until_sync(lambda: gateway.get("/api/v1/things/hall")["availability"] == "offline")
    status, headers, body = Put(gateway, 20).answer()
    assert (status, body["type"]) == (503, "/problems/thing-offline")
    assert int(headers["retry-after"]) > 0
    assert gateway.record("hall", "setpoint")["quality"] == "stale"
