"""An OpenTherm Gateway at the whole process: what real ones have sent, and one that is set from HTTP and MQTT while its line is cut."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.data import recorded
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.simulator import Simulator
from tests.support.subscriber import Subscriber
from tests.support.wait import until_sync

_FINAL = ("confirmed", "rejected", "failed", "expired", "superseded")


@pytest.mark.parametrize(
    ("name", "lines", "fragments", "readings", "bad"),
    [
        ("boiler-a-heating-evening.tsv", 4273, 0, 5806, 268),
        ("boiler-a-dhw-setpoint-change.tsv", 1043, 1, 832, 61),
        ("boiler-a-standby-evening.tsv", 2123, 0, 2690, 0),
        ("boiler-a-lossy-log.tsv", 626, 1, 551, 37),
    ],
)
def test_a_recording_adds_up(tmp_path: Path, name: str, lines: int, fragments: int, readings: int, bad: int) -> None:
    """Through a terminal, flat out: lines by outcome and readings by outcome sum to what was sent, as decoded apart from it."""
    sent = [line.split(b"\t", 1)[1] + b"\r\n" for line in recorded("otgw-boiler", name).read_bytes().splitlines()]
    with Line(tmp_path / "port") as line:
        config = f'[links.boiler]\ndriver = "opentherm"\nport = "{line.link}"\n'
        with Gateway(tmp_path / "gateway", config) as gateway:
            line.wait_open()
            assert line.write(b"".join(sent))
            until_sync(lambda: gateway.metric("hearthgate_lines_total") == lines, 30, "every line is accounted for")
            assert gateway.metric("hearthgate_lines_total", reason="fragment") == fragments
            assert gateway.metric("hearthgate_lines_total", outcome="accepted") == lines - fragments
            assert gateway.metric("hearthgate_readings_total", outcome="bad") == bad
            counted = gateway.metric("hearthgate_readings_total")
            waiting = readings + bad - counted
            assert 0 <= waiting < 40, "what waits for its interval counts when it is said"
            assert gateway.get("/api/v1/status")["links"]["boiler"]["bus"]["is_up"] is True
            assert gateway.metric("hearthgate_bus_up", link="boiler") == 1
            assert {thing["id"] for thing in gateway.get("/api/v1/things")["things"]} == {
                "boiler",
                "thermostat",
                "otgw",
            }


def test_a_thermostat_is_set_from_http_and_mqtt_while_its_line_is_cut(tmp_path: Path) -> None:
    """At the end target, report and the thermostat's own word agree, and each command has had one outcome."""
    dice, port = random.Random(5), tmp_path / "port"
    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        config = f'[mqtt]\nurls = ["{broker.url}"]\n[links.boiler]\ndriver = "opentherm"\nport = "{port}"\n'
        with Gateway(tmp_path / "gateway", config) as gateway:
            faults = ("--faults", "split,unplug=0.2@1.5")
            with Simulator("device", "otgw", "--link", port, "--period", "0.1", *faults):
                until_sync(lambda: gateway.value("thermostat", "setpoint") is not None, 20)
                until_sync(lambda: subscriber.newest("hearthgate/test/status"), 20)
                end_s = time.monotonic() + 6
                while time.monotonic() < end_s:
                    wanted = dice.randrange(20, 50) / 2
                    if dice.random() < 0.5:
                        gateway.request(
                            "PUT",
                            "/api/v1/things/thermostat/properties/setpoint",
                            {"value": wanted},
                            {"Prefer": "wait=0"},
                        )
                    else:
                        subscriber.publish("hearthgate/test/thermostat/setpoint/set", str(wanted).encode())
                    time.sleep(dice.uniform(0, 0.3))
            with Simulator("device", "otgw", "--link", port, "--period", "0.1"):
                until_sync(lambda: set_from_http(gateway, 23.5), 20, "the thermostat is set")
                record = gateway.record("thermostat", "setpoint")
                assert record["value"] == 23.5
                assert record.get("target", 23.5) == 23.5
            changes = gateway.changes()
    accepted = [change["command"] for change in changes if change["type"] == "command.accepted"]
    ended = Counter(c["command"] for c in changes if c["type"].removeprefix("command.") in _FINAL)
    assert ended == Counter(accepted)
    outcomes = Counter(c["type"] for c in changes if c["type"].startswith("command."))
    assert outcomes["command.confirmed"] >= 2
    assert {c["cause"].split(":")[0] for c in changes if c["type"] == "command.accepted"} >= {"mqtt"}


def set_from_http(gateway: Gateway, value: float) -> bool:
    status, _, _ = gateway.request(
        "PUT", "/api/v1/things/thermostat/properties/setpoint", {"value": value}, {"Prefer": "wait=10"}
    )
    return status == 200
