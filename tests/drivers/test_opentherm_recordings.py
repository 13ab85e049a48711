"""What a real OpenTherm Gateway has said, read by our driver and by pyotgw, line by line and value by value."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from pyotgw import vars as v
from pyotgw.messageprocessor import MessageProcessor

from gateway.drivers.codecs.opentherm import LineDecoder, parse
from gateway.drivers.opentherm import OpenTherm, OpenThermOptions
from tests.drivers.field_support import FieldIntake
from tests.support.data import recorded

NAMES = {
    "master_ch_enabled": "ch_enabled",
    "master_dhw_enabled": "dhw_enabled",
    "master_cooling_enabled": "cooling_enabled",
    "master_otc_enabled": "otc_enabled",
    "master_ch2_enabled": "ch2_enabled",
    "slave_fault_indication": "fault",
    "slave_ch_active": "ch_active",
    "slave_dhw_active": "dhw_active",
    "slave_flame_on": "flame",
    "slave_cooling_active": "cooling_active",
    "slave_ch2_active": "ch2_active",
    "slave_diagnostic_indication": "diagnostic",
    "ch_water_temp": "flow_temperature",
    "relative_mod_level": "modulation",
    "room_setpoint": "setpoint",
    "room_temp": "room_temperature",
    "slave_service_required": "service_required",
    "slave_remote_reset": "lockout_reset",
    "slave_low_water_pressure": "low_pressure",
    "slave_gas_fault": "flame_fault",
    "slave_air_pressure_fault": "air_pressure_fault",
    "slave_water_overtemp": "overheated",
    "slave_oem_fault": "fault_code",
    "return_water_temp": "return_temperature",
    "ch_water_pressure": "pressure",
    "oem_diag": "diagnostic_code",
    "dhw_flow_rate": "dhw_flow",
    "remote_transfer_dhw": "offers_dhw_setpoint",
    "remote_transfer_max_ch": "offers_max_ch_setpoint",
    "remote_rw_dhw": "takes_dhw_setpoint",
    "remote_rw_max_ch": "takes_max_ch_setpoint",
    "slave_dhw_max_setp": "dhw_setpoint_max",
    "slave_dhw_min_setp": "dhw_setpoint_min",
    "slave_ch_max_setp": "max_ch_setpoint_max",
    "slave_ch_min_setp": "max_ch_setpoint_min",
    "slave_max_capacity": "capacity",
    "slave_min_mod_level": "min_modulation",
    "slave_dhw_present": "has_dhw",
    "slave_control_type": "is_on_off",
    "slave_cooling_supported": "has_cooling",
    "slave_dhw_config": "has_storage",
    "slave_master_low_off_pump": "no_pump_control",
    "slave_ch2_present": "has_ch2",
    "slave_memberid": "member_id",
    "master_memberid": "member_id",
    "room_setpoint_ovrd": "room_setpoint_override",
}
"""What pyotgw calls a value, and we do, where that is not the same."""

OURS_ALONE = {
    ("thermostat", "summer_mode"),  # bits of the status that came after version 2.2
    ("thermostat", "dhw_blocked"),
    ("boiler", "producing_power"),
    ("boiler", "no_remote_fill"),
    ("boiler", "heats_or_cools"),
    ("thermostat", "smart_power"),
    ("thermostat", "control_setpoint"),  # what the thermostat wants, beside what the boiler has taken
    ("thermostat", "max_modulation"),
    ("boiler", "fan_setpoint"),  # ids that pyotgw does not know
    ("boiler", "fan_speed"),
}
"""What pyotgw does not read."""

FILES = {
    "heating-evening": (4273, 0),
    "dhw-setpoint-change": (1043, 1),
    "standby-evening": (2123, 0),
    "lossy-log": (626, 1),
}
"""Lines, and how many of them are cut."""


class _Heard:
    """pyotgw's status, that only writes down what is put into it."""

    def __init__(self) -> None:
        self.status: dict[str, dict[str, Any]] = {v.OTGW: {}}
        self.said: list[tuple[str, str, float | None]] = []

    def submit_partial_update(self, part: str, update: dict[str, Any]) -> None:
        self.said += [(part, name, float(value)) for name, value in update.items()]

    def delete_value(self, part: str, name: str) -> None:
        self.said.append((part, name, None))


@pytest.mark.parametrize("name", FILES)
async def test_every_value_is_what_pyotgw_reads(name: str) -> None:
    heard = _Heard()
    theirs = MessageProcessor(None, heard)
    intake = FieldIntake("boiler")
    ours = OpenTherm("boiler", OpenThermOptions(port="/dev/ttyUSB0"), intake)
    alone: set[tuple[str, str]] = set()
    compared, by_gateway = 0, Counter[str]()
    try:
        for line in _lines(name):
            heard.said.clear()
            intake.said.clear()
            ours._take(parse(line))
            if match := re.fullmatch("([TBRAE])([0-9A-F]{8})", line.decode()):
                message = theirs._dissect_msg(match)
                if message[4] is not None:
                    await theirs._process_msg(message)
            values = {(thing, key): value for thing, key, value in intake.readings()}
            if (
                line[:1] in b"RA"
            ):  # pyotgw takes what the gateway says in their place for the boiler's and the thermostat's own
                assert not any(thing != "otgw" for thing, _ in values)
                by_gateway.update(key for _, key, _ in heard.said)
                continue
            for part, key, value in heard.said:
                found = values.pop((part, NAMES.get(key, key)))
                assert found == round(value or 0, 2), (line, key)  # of an override of 0 pyotgw says that there is none
                compared += 1
            alone |= set(values)
    finally:
        await theirs.cleanup()
    assert alone <= OURS_ALONE
    assert compared > 400
    assert set(by_gateway) <= {"max_ch_setpoint"}, "the answer to our own SH, which the boiler has not given"


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_accounted_for(name: str) -> None:
    count, cut = FILES[name]
    intake = FieldIntake("boiler")
    driver = OpenTherm("boiler", OpenThermOptions(port="/dev/ttyUSB0"), intake)
    driver._decoder = LineDecoder()
    text = b"".join(line + b"\r\n" for line in _lines(name))
    for begin in range(0, len(text), 37):
        driver._hear(text[begin : begin + 37])
    assert intake.lines.total() == count
    assert intake.lines["dropped", "malformed"] == cut
    assert sum(n for (outcome, _), n in intake.lines.items() if outcome == "dropped") == cut


def test_what_has_no_sensor_is_no_reading() -> None:
    """7FFF, in requests, answers and invalid answers, which these recordings are full of."""
    intake = FieldIntake("boiler")
    driver = OpenTherm("boiler", OpenThermOptions(port="/dev/ttyUSB0"), intake)
    lines = [line for name in FILES for line in _lines(name) if line.endswith(b"7FFF")]
    assert len(lines) > 400
    for line in lines:
        driver._take(parse(line))
    assert intake.readings() == []


def _lines(name: str) -> list[bytes]:
    path = recorded("otgw-boiler", f"boiler-a-{name}.tsv")
    return [line.partition(b"\t")[2] for line in path.read_bytes().splitlines()]
