"""The simulated OpenTherm Gateway: alone, and as pyotgw sees it, which takes it for hardware."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path

import pytest
from pyotgw import vars as v

from firmware_sim.devices.otgw import OtgwFirmware
from firmware_sim.house import House
from firmware_sim.kinds import KINDS
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from tests.support.wait import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyotgw import OpenThermGateway


def exchanges(firmware: OtgwFirmware, seconds: int, start_s: float = 0.0) -> list[list[str]]:
    return [[frame.decode().strip() for frame in firmware.tick(start_s + second)] for second in range(1, seconds + 1)]


def test_it_prints_requests_and_answers_with_even_parity() -> None:
    """One exchange a second; R follows T, and B answers R's id."""
    firmware = OtgwFirmware(House(1), period_s=1.0)
    assert firmware.boot(0.0) == [b"OpenTherm Gateway 6.6\r\n"]
    said = exchanges(firmware, 60)
    letters = {"".join(line[0] for line in lines) for lines in said}
    assert letters <= {"TB", "TRBA", "TBA"}
    assert {"TB", "TRBA"} <= letters
    for lines in said:
        for line in lines:
            assert bin(int(line[1:], 16)).count("1") % 2 == 0
        asked = next((line for line in lines if line[0] == "R"), lines[0])
        answered = next(line for line in lines if line[0] == "B")
        assert answered[3:5] == asked[3:5]
        told = next((line for line in lines if line[0] == "A"), answered)
        assert told[3:5] == lines[0][3:5]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"TT=21.5\r", "TT: 21.50"),
        (b"TT=31\r\n", "TT: OR"),
        (b"TT=warm\r", "TT: SE"),
        (b"PR=M\r", "PR: M=G"),
        (b"PR=O\r", "PR: O=N"),
        (b"PR=A\r", "PR: A=OpenTherm Gateway 6.6"),
        (b"GW=R\r", "OpenTherm Gateway 6.6"),
        (b"HW=2\r", "HW: BV"),
        (b"XX=1\r", "NG"),
        (b"hello\r", "SE"),
        (b"OT=99\r", "OT: -"),
    ],
)
def test_its_answers(command: bytes, answer: str) -> None:
    firmware = OtgwFirmware(House(1))
    firmware.boot(0.0)
    for at in range(len(command)):  # however it is cut
        said = firmware.receive(command[at : at + 1], 1.0)
        if said:
            assert said == [f"{answer}\r\n".encode()]
            return
    raise AssertionError("no answer")


def test_a_temporary_override_ends_at_the_thermostats_knob_and_a_constant_one_does_not() -> None:
    house = House(1)
    firmware = OtgwFirmware(house, period_s=1.0)
    firmware.boot(0.0)
    firmware.receive(b"TT=23.0\r", 0.0)
    exchanges(firmware, 24)
    assert house.thermostat.setpoint_c == 23.0
    house.thermostat.turn_knob(18.0)
    exchanges(firmware, 24, 24)
    assert firmware.receive(b"PR=O\r", 48.0) == [b"PR: O=N\r\n"]
    firmware.receive(b"TC=24.0\r", 48.0)
    exchanges(firmware, 24, 48)
    assert house.thermostat.setpoint_c == 24.0
    house.thermostat.turn_knob(18.0)
    exchanges(firmware, 24, 72)
    assert firmware.receive(b"PR=O\r", 96.0) == [b"PR: O=C24.00\r\n"]


def test_it_is_a_kind_of_device() -> None:
    assert "otgw" in KINDS


async def test_pyotgw_takes_it_for_hardware(tmp_path: Path) -> None:
    """It connects, reads reports and status, follows the bus, and sets the room: which is what the house's thermostat then has."""
    house = House(3)
    firmware = OtgwFirmware(house, period_s=0.05)
    station = Station(firmware, Wire(tmp_path / "port"))
    running = asyncio.create_task(station.run())
    gateway = OpenThermGateway()
    try:
        await until(lambda: station.wire.is_plugged)
        status = await asyncio.wait_for(gateway.connect(str(tmp_path / "port")), 20)
        assert status[v.OTGW][v.OTGW_ABOUT] == "OpenTherm Gateway 6.6"
        assert status[v.OTGW][v.OTGW_MODE] == "G"
        assert status[v.THERMOSTAT][v.DATA_ROOM_SETPOINT] == house.thermostat.setpoint_c
        assert status[v.BOILER][v.DATA_TOTAL_BURNER_STARTS] == 7368
        assert await gateway.set_target_temp(22.0) == 22.0
        await until(lambda: house.thermostat.setpoint_c == 22.0)
        await until(lambda: gateway.status.status[v.THERMOSTAT].get(v.DATA_ROOM_SETPOINT) == 22.0)
        seen = gateway.status.status
        assert seen[v.THERMOSTAT][v.DATA_ROOM_SETPOINT_OVRD] == 22.0
        assert abs(seen[v.BOILER][v.DATA_CH_WATER_TEMP] - house.boiler.flow_c) < 1
        assert seen[v.BOILER][v.DATA_SLAVE_FLAME_ON] == house.boiler.has_flame
        assert await gateway.set_dhw_setpoint(50.0) == 50.0
        await until(lambda: firmware.boiler.dhw_setpoint_c == 50.0)
        assert await gateway.set_hot_water_ovrd("1") == 1
    finally:
        await gateway.cleanup()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
