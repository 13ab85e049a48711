"""Firmware that speaks for its things on one line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.devices.dialect import DialectFirmware, SketchFirmware
from firmware_sim.devices.room_sensor import Climate, RoomSensor
from firmware_sim.devices.switches import Contact
from firmware_sim.devices.thermostat import Thermostat
from firmware_sim.house import House
from firmware_sim.kinds import KINDS, Settings


class StillWorld:
    """Nothing happens, until told."""

    def __init__(self) -> None:
        self.next_s = float("inf")

    def advance(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def wake_s(self) -> float:
        return self.next_s


def said(frames: list[bytes]) -> list[dict[str, Any]]:
    for frame in frames:
        assert frame.endswith(b"\n")
        assert frame.count(b"\n") == 1
    return [json.loads(frame.split(b"*")[0]) for frame in frames]


def sensors(*names: str) -> list[RoomSensor]:
    return [RoomSensor(name, lambda: Climate(20, 50, 500, 10)) for name in names]


def test_it_describes_itself_at_boot_then_reports_once_a_period() -> None:
    firmware = DialectFirmware([Thermostat("hall")], StillWorld(), period_s=2)
    assert [message["thing"] for message in said(firmware.boot(10.0)) if "describe" in message] == ["hall"]
    assert firmware.wake_s() == 10.0
    assert [message["n"] for message in said(firmware.tick(10.0))] == [0]
    assert firmware.tick(11.9) == []
    assert firmware.wake_s() == 12.0
    assert [message["n"] for message in said(firmware.tick(12.0))] == [1]


def test_things_on_one_line_take_turns_and_count_for_themselves() -> None:
    firmware = DialectFirmware(sensors("a", "b"), StillWorld(), period_s=2)
    firmware.boot(0)
    turns = [(now, said(firmware.tick(now))) for now in (0, 1, 2, 3)]
    assert [(now, message["thing"], message["n"]) for now, messages in turns for message in messages] == [
        (0, "a", 0),
        (1, "b", 0),
        (2, "a", 1),
        (3, "b", 1),
    ]


def test_missed_turns_are_not_made_up_for() -> None:
    firmware = DialectFirmware([Thermostat("hall")], StillWorld(), period_s=2)
    firmware.boot(0)
    firmware.tick(0)
    assert len(firmware.tick(100)) == 1
    assert firmware.tick(100) == []
    assert firmware.wake_s() == 102


def test_a_command_is_acknowledged_and_then_reported() -> None:
    firmware = DialectFirmware([Thermostat("hall")], StillWorld(), period_s=2, checksum=True)
    firmware.boot(0)
    answer, report = said(firmware.receive(b'{"thing":"hall","set":{"setpoint":21.5},"id":"c7"}\n', 1))
    assert answer == {"thing": "hall", "ack": "c7"}
    assert report["values"]["setpoint"] == 21.5


def test_a_wrong_command_is_refused_by_its_id() -> None:
    firmware = DialectFirmware([Thermostat("hall")], StillWorld(), period_s=2)
    assert said(firmware.receive(b'{"thing":"hall","set":{"setpoint":31},"id":"c8"}\n', 1)) == [
        {"thing": "hall", "nak": "c8", "error": "setpoint: out of range 5 to 30"}
    ]
    assert said(firmware.receive(b'{"thing":"cellar","set":{"setpoint":20},"id":"c9"}\n', 1)) == [
        {"thing": "cellar", "nak": "c9", "error": "unknown thing"}
    ]


def test_a_command_without_an_id_is_done_silently() -> None:
    thermostat = Thermostat("hall")
    firmware = DialectFirmware([thermostat], StillWorld(), period_s=2)
    (report,) = said(firmware.receive(b'{"thing":"hall","set":{"mode":"off"}}\n', 1))
    assert report["values"]["mode"] == "off"


def test_a_command_whose_checksum_is_wrong_is_ignored_and_counted() -> None:
    thermostat = Thermostat("hall", setpoint_c=20)
    firmware = DialectFirmware([thermostat], StillWorld(), period_s=2)
    assert firmware.receive(b'{"thing":"hall","set":{"setpoint":25},"id":"c7"}*BEEF\n', 1) == []
    assert (thermostat.setpoint_c, firmware.ignored) == (20, {"checksum": 1})


def test_who_it_is_can_be_asked_of_one_or_all() -> None:
    firmware = DialectFirmware(sensors("a", "b"), StillWorld(), period_s=2)
    assert [message["thing"] for message in said(firmware.receive(b'{"get":"describe"}\n', 0))] == ["a", "b"]
    assert [m["thing"] for m in said(firmware.receive(b'{"thing":"b","get":"describe"}\n', 0))] == ["b"]


def test_a_contact_says_at_once_that_it_opened() -> None:
    world, state = StillWorld(), {"open": False}
    firmware = DialectFirmware([Contact("door", lambda: state["open"])], world, period_s=60)
    firmware.boot(0)
    firmware.tick(0)
    world.next_s = 7.5
    assert firmware.wake_s() == 7.5
    assert firmware.tick(7.0) == []
    state["open"] = True
    assert [message["values"] for message in said(firmware.tick(7.5))] == [{"open": True}]
    assert firmware.tick(7.6) == []


def test_a_reboot_forgets_half_a_line_and_the_count_but_not_the_setpoint() -> None:
    thermostat = Thermostat("hall")
    firmware = DialectFirmware([thermostat], StillWorld(), period_s=2)
    firmware.boot(0)
    firmware.tick(0)
    firmware.receive(b'{"thing":"hall","set":{"setpoint":23},"id":"c1"}\n{"thing":"hall","se', 1)
    firmware.boot(2)
    assert firmware.receive(b't":{"setpoint":10}}\n', 2) == []
    assert [message["n"] for message in said(firmware.tick(2))] == [0]
    assert thermostat.setpoint_c == 23


def test_a_sketch_prints_and_does_not_listen() -> None:
    firmware = SketchFirmware(sensors("attic")[0], ("temperature", "humidity"), StillWorld(), period_s=5)
    assert firmware.boot(0) == []
    assert firmware.receive(b'{"get":"describe"}\n', 0) == []
    (line,) = firmware.tick(0)
    assert line.endswith(b"\r\n")
    assert set(json.loads(line)) == {"temperature", "humidity"}
    assert (firmware.tick(4.9), firmware.wake_s()) == ([], 5)


@given(st.sampled_from(sorted(KINDS)), st.lists(st.binary(max_size=60) | st.just(b'{"get":"describe"}\n'), max_size=8))
def test_no_kind_of_device_is_upset_by_noise(kind: str, noise: list[bytes]) -> None:
    firmware = KINDS[kind].build(House(1), Settings())
    firmware.boot(0)
    for place, data in enumerate(noise):
        firmware.receive(data, place)
        firmware.tick(place)
    assert firmware.wake_s() >= 0


def test_every_kind_says_something_within_its_period_under_the_name_it_was_given() -> None:
    for name, kind in KINDS.items():
        firmware = kind.build(House(1), Settings(thing="mine", period_s=1.0, checksum=True))
        lines = firmware.boot(0) + firmware.tick(0.0) + firmware.tick(1.0)
        assert lines, name
        if isinstance(firmware, DialectFirmware) and name != "sensors":
            assert {message["thing"] for message in said(lines)} == {"mine"}
