"""What real gateways have sent: decoded by us and, value by value, by pyotgw, which somebody else wrote; and through a terminal."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyotgw import vars as v
from pyotgw.protocol import OpenThermProtocol

from gateway.core.values import Scalar
from gateway.drivers.codecs.opentherm import Frame, LineDecoder
from gateway.drivers.codecs.opentherm_ids import said
from gateway.drivers.opentherm import OpenTherm, OpenThermOptions
from gateway.links.keeper import Keeper
from tests.drivers.recording import RecordingIntake
from tests.support.data import recorded
from tests.support.ptys import Plug
from tests.support.wait import until

FILES = {
    "boiler-a-heating-evening.tsv": 4273,
    "boiler-a-dhw-setpoint-change.tsv": 1043,
    "boiler-a-standby-evening.tsv": 2123,
    "boiler-a-lossy-log.tsv": 626,
}

ALIKE = {
    "boiler-a-heating-evening.tsv": 4817,
    "boiler-a-dhw-setpoint-change.tsv": 712,
    "boiler-a-standby-evening.tsv": 2193,
    "boiler-a-lossy-log.tsv": 475,
}
"""Readings that both of us take, of the same value."""
UNDECODED = "pyotgw does not decode it"
WISH = "pyotgw takes what the thermostat wants only from the boiler's answer, which may be a refusal"
ZERO = "pyotgw forgets an override of zero"
TOLD = "what the gateway tells the thermostat is not the thermostat's word"
APART = {
    "boiler-a-heating-evening.tsv": {UNDECODED: 796, WISH: 163, ZERO: 14, TOLD: 2},
    "boiler-a-dhw-setpoint-change.tsv": {UNDECODED: 74, WISH: 41},
    "boiler-a-standby-evening.tsv": {UNDECODED: 399, WISH: 73, ZERO: 12},
    "boiler-a-lossy-log.tsv": {UNDECODED: 51, WISH: 23},
}
"""Readings that one of us takes and the other does not, and why. All are only ours but `TOLD`, which are only pyotgw's."""

READINGS = {
    "boiler-a-heating-evening.tsv": (5806, 268),
    "boiler-a-dhw-setpoint-change.tsv": (832, 61),
    "boiler-a-standby-evening.tsv": (2690, 0),
    "boiler-a-lossy-log.tsv": (551, 37),
}
"""Those that are good, the gateway's replies among them, and those that the boiler calls not valid."""
_FRAGMENT = {("dropped", "fragment"): 1}
DROPPED = {"boiler-a-dhw-setpoint-change.tsv": _FRAGMENT, "boiler-a-lossy-log.tsv": _FRAGMENT}
"""Half a line each: `0000` and `07416D6`."""

OURS = {
    v.DATA_MASTER_CH_ENABLED: "ch_enabled",
    v.DATA_MASTER_DHW_ENABLED: "dhw_enabled",
    v.DATA_MASTER_COOLING_ENABLED: "cooling_enabled",
    v.DATA_MASTER_OTC_ENABLED: "outside_compensation",
    v.DATA_MASTER_CH2_ENABLED: "ch2_enabled",
    v.DATA_SLAVE_FAULT_IND: "fault",
    v.DATA_SLAVE_CH_ACTIVE: "ch_active",
    v.DATA_SLAVE_DHW_ACTIVE: "dhw_active",
    v.DATA_SLAVE_FLAME_ON: "flame",
    v.DATA_SLAVE_COOLING_ACTIVE: "cooling_active",
    v.DATA_SLAVE_CH2_ACTIVE: "ch2_active",
    v.DATA_SLAVE_DIAG_IND: "diagnostic",
    v.DATA_CONTROL_SETPOINT: "control_setpoint",
    v.DATA_MASTER_MEMBERID: "member_id",
    v.DATA_SLAVE_DHW_PRESENT: "dhw_present",
    v.DATA_SLAVE_CONTROL_TYPE: "is_on_off",
    v.DATA_SLAVE_COOLING_SUPPORTED: "cooling_supported",
    v.DATA_SLAVE_DHW_CONFIG: "dhw_has_tank",
    v.DATA_SLAVE_MASTER_LOW_OFF_PUMP: "pump_control_forbidden",
    v.DATA_SLAVE_CH2_PRESENT: "ch2_present",
    v.DATA_SLAVE_MEMBERID: "member_id",
    v.DATA_SLAVE_SERVICE_REQ: "service_required",
    v.DATA_SLAVE_REMOTE_RESET: "lockout_reset",
    v.DATA_SLAVE_LOW_WATER_PRESS: "low_water_pressure",
    v.DATA_SLAVE_GAS_FAULT: "gas_flame_fault",
    v.DATA_SLAVE_AIR_PRESS_FAULT: "air_pressure_fault",
    v.DATA_SLAVE_WATER_OVERTEMP: "water_over_temperature",
    v.DATA_SLAVE_OEM_FAULT: "oem_fault_code",
    v.DATA_REMOTE_TRANSFER_DHW: "dhw_setpoint_transfer",
    v.DATA_REMOTE_TRANSFER_MAX_CH: "max_ch_setpoint_transfer",
    v.DATA_REMOTE_RW_DHW: "dhw_setpoint_writable",
    v.DATA_REMOTE_RW_MAX_CH: "max_ch_setpoint_writable",
    v.DATA_SLAVE_MAX_RELATIVE_MOD: "max_modulation",
    v.DATA_SLAVE_MAX_CAPACITY: "max_capacity",
    v.DATA_SLAVE_MIN_MOD_LEVEL: "min_modulation",
    v.DATA_ROOM_SETPOINT: "setpoint",
    v.DATA_REL_MOD_LEVEL: "modulation",
    v.DATA_CH_WATER_PRESS: "ch_pressure",
    v.DATA_DHW_FLOW_RATE: "dhw_flow",
    v.DATA_ROOM_TEMP: "temperature",
    v.DATA_CH_WATER_TEMP: "flow_temperature",
    v.DATA_DHW_TEMP: "dhw_temperature",
    v.DATA_OUTSIDE_TEMP: "outside_temperature",
    v.DATA_RETURN_WATER_TEMP: "return_temperature",
    v.DATA_EXHAUST_TEMP: "exhaust_temperature",
    v.DATA_SLAVE_DHW_MAX_SETP: "dhw_setpoint_max",
    v.DATA_SLAVE_DHW_MIN_SETP: "dhw_setpoint_min",
    v.DATA_SLAVE_CH_MAX_SETP: "max_ch_setpoint_max",
    v.DATA_SLAVE_CH_MIN_SETP: "max_ch_setpoint_min",
    v.DATA_DHW_SETPOINT: "dhw_setpoint",
    v.DATA_MAX_CH_SETPOINT: "max_ch_setpoint",
    v.DATA_OEM_DIAG: "oem_diagnostic_code",
    v.DATA_TOTAL_BURNER_STARTS: "burner_starts",
    v.DATA_CH_PUMP_STARTS: "ch_pump_starts",
    v.DATA_DHW_PUMP_STARTS: "dhw_pump_starts",
    v.DATA_DHW_BURNER_STARTS: "dhw_burner_starts",
    v.DATA_TOTAL_BURNER_HOURS: "burner_hours",
    v.DATA_CH_PUMP_HOURS: "ch_pump_hours",
    v.DATA_DHW_PUMP_HOURS: "dhw_pump_hours",
    v.DATA_DHW_BURNER_HOURS: "dhw_burner_hours",
}

WE_KNOW_MORE = {0, 2, 3, 10, 11, 35, 99}
"""pyotgw leaves these ids out, or some of their bits: smart power (2), remote filling and heat/cool switching (3), summer mode, blocked
hot water and electricity (0), transparent parameters (10, 11), fan speed (35), operating modes (99)."""

Reading = tuple[str, str, Scalar]


class Witness:
    """pyotgw's protocol, whose status we listen to."""

    def __init__(self) -> None:
        self.status: dict[str, dict[str, Any]] = {v.BOILER: {}, v.OTGW: {}, v.THERMOSTAT: {}}
        self.said: list[Reading] = []
        self.protocol = OpenThermProtocol(self, None)

    def submit_partial_update(self, part: str, update: dict[str, Any]) -> None:
        self.said += [(part, OURS[name], value) for name, value in update.items()]

    def delete_value(self, part: str, name: str) -> None:
        """Of the override (id 9) where it is zero."""

    def reset(self) -> None:
        """At the end."""

    async def decode(self, line: bytes) -> list[Reading]:
        self.said = []
        self.protocol.data_received(line + b"\r\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert self.protocol.message_processor._msgq.empty()
        return self.said


def lines_of(name: str) -> list[bytes]:
    return [line.split(b"\t", 1)[1] for line in recorded("otgw-boiler", name).read_bytes().splitlines()]


def readings_of(frame: Frame) -> set[Reading]:
    heard = said(frame)
    return {(heard.speaker, name, value) for name, value in heard.values.items()} if heard else set()


def explain(frame: Frame, reading: Reading, *, is_ours: bool) -> str:
    """Why only one of us takes this reading; "" when there is no good reason."""
    speaker, _, value = reading
    if is_ours and frame.id in WE_KNOW_MORE:
        return UNDECODED
    if is_ours and frame.source == "T" and frame.id in (1, 14):
        return WISH
    if is_ours and frame.id == 9 and value == 0:
        return ZERO
    if not is_ours and frame.source == "A" and speaker == v.THERMOSTAT:
        return TOLD
    return ""


@pytest.mark.parametrize("name", FILES)
async def test_every_value_is_pyotgws_too(name: str) -> None:
    """Where one of us takes a value that the other does not, there is a reason; never do we take different values."""
    witness, decoder, alike = Witness(), LineDecoder(), 0
    apart: Counter[str] = Counter()
    try:
        for raw in lines_of(name):
            theirs = set(await witness.decode(raw))
            (line,) = decoder.feed(raw + b"\r\n")
            if not isinstance(line, Frame):
                assert not theirs, raw
                continue
            ours = readings_of(line)
            alike += len(ours & theirs)
            for only, is_ours in ((ours - theirs, True), (theirs - ours, False)):
                for reading in only:
                    reason = explain(line, reading, is_ours=is_ours)
                    assert reason, (raw, reading, is_ours, ours, theirs)
                    apart[reason] += 1
    finally:
        await witness.protocol.message_processor.cleanup()
    assert alike == ALIKE[name]
    assert apart == APART[name]


@pytest.mark.parametrize("name", FILES)
async def test_a_recording_through_a_terminal_is_counted_to_the_last_line(tmp_path: Path, name: str) -> None:
    intake = RecordingIntake("boiler")
    bus: list[str] = []
    intake.bus_up = lambda: bus.append("up")  # type: ignore[method-assign]
    intake.bus_down = lambda reason: bus.append(reason)  # type: ignore[method-assign]
    with Plug(tmp_path / "port") as plug:
        driver = OpenTherm("boiler", OpenThermOptions(port=str(plug.link)), intake)
        keeper = Keeper("boiler", driver.opener(), driver.session, intake.link_up, intake.link_down)
        running = asyncio.create_task(keeper.run())
        await until(lambda: keeper.status.is_up)
        await plug.send(b"".join(line + b"\r\n" for line in lines_of(name)))
        await until(lambda: intake.lines.total() == FILES[name])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert intake.things.keys() == {"boiler", "thermostat", "otgw"}
    assert bus == ["up"]
    readings = sum(len(s[2]) for s in intake.said if s[0] == "report")
    bad = sum(s[0] == "bad" for s in intake.said)
    assert (readings, bad) == READINGS[name]
    assert {key: count for key, count in intake.lines.items() if key[0] == "dropped"} == DROPPED.get(name, {})
    assert intake.things["thermostat"]["setpoint"] in (20.0, 5.0)
    assert "dhw_temperature" not in intake.things["boiler"], "7FFF and `data invalid` are no readings"
    assert intake.lines["accepted", "unknown-id"] == 0
    assert intake.things["otgw"]["mode"] == "gateway"
