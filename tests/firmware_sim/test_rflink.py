"""The simulated RFLink gateway, by itself and beside the library `rflink`, which takes it for hardware."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rflink.parser import decode_packet
from rflink.protocol import create_rflink_connection

from firmware_sim.devices.rflink import BANNER, RfLinkFirmware
from firmware_sim.devices.room_sensor import Climate, RoomSensor
from firmware_sim.house import House
from firmware_sim.kinds import KINDS, Settings
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from tests.firmware_sim.conftest import running
from tests.support.wait import until


def at(temperature_c: float) -> RfLinkFirmware:
    sensor = RoomSensor("shed", lambda: Climate(temperature_c, 50, 500, 10))
    return RfLinkFirmware({"shed": sensor}, House(1), period_s=1)


@pytest.mark.parametrize("temperature_c", [21.0, -7.5, 0.0])
def test_what_a_sensor_sends_the_library_reads(temperature_c: float) -> None:
    firmware = at(temperature_c)
    assert firmware.boot(0) == [f"20;00;{BANNER};\r\n".encode()]
    (line,) = firmware.tick(1)
    read = decode_packet(line.decode().rstrip())
    assert read["temperature"] == pytest.approx(temperature_c, abs=0.15)
    assert read["humidity"] == pytest.approx(50, abs=2)
    assert (read["protocol"], read["battery"]) == ("oregon temphygro", "ok")


def test_commands_are_answered() -> None:
    firmware = at(20)
    asked = [b"10;PING;\r\n10;VER", b"SION;\r\n", b"10;NewKaku;1;1;ON;\r\nnonsense\r\n10;Kaku;\r\n"]
    answers = [line.decode().split(";")[2] for data in asked for line in firmware.receive(data, 0)]
    assert answers == ["PONG", "VER=1.1", "OK", "CMD UNKNOWN", "CMD UNKNOWN"]
    assert firmware.sent == ["NewKaku;1;1;ON"]


async def test_the_library_takes_it_for_hardware(tmp_path: Path) -> None:
    """It hears the sensors, and switches the lamp."""
    house = House(1)
    heard: list[dict[str, Any]] = []
    station = Station(KINDS["rflink"].build(house, Settings(period_s=0.05)), Wire(tmp_path / "port"))
    async with running(asyncio.create_task(station.run())):
        await until(lambda: station.wire.is_plugged)
        transport, protocol = await create_rflink_connection(port=str(tmp_path / "port"), event_callback=heard.append)
        try:
            await until(lambda: {"temperature", "humidity", "command"} <= _kinds(heard))
            assert await protocol.send_command_ack("newkaku_00c0ffee_1", "on") is True  # type: ignore[attr-defined]
            assert house.lamp_is_on
        finally:
            transport.close()
            await asyncio.sleep(0)


def _kinds(events: list[dict[str, Any]]) -> set[str]:
    return {
        kind
        for event in events
        for kind in ("temperature", "humidity", "command")
        if kind in (event.get("sensor"), *event)
    }
