"""The simulated MySensors gateway, by itself and beside pymysensors, which takes it for hardware."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from mysensors.gateway_serial import SerialGateway

from firmware_sim.devices.mysensors import MySensorsFirmware
from firmware_sim.devices.mysensors_sketches import ThermostatSketch, ValveSketch
from firmware_sim.house import House
from firmware_sim.kinds import KINDS, Settings
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from tests.firmware_sim.conftest import running
from tests.support.wait import until

V_TEMP, V_STATUS, V_HEAT = 0, 2, 45


def twin(house: House, period_s: float = 1.0) -> MySensorsFirmware:
    firmware = KINDS["mysensors"].build(house, Settings(period_s=period_s))
    assert isinstance(firmware, MySensorsFirmware)
    return firmware


def said(frames: list[bytes]) -> list[str]:
    """Without the debug lines."""
    assert all(frame.endswith(b"\n") and frame.count(b"\n") == 1 for frame in frames)
    lines = [frame.decode().rstrip("\n") for frame in frames]
    return [line for line in lines if not line.startswith("0;255;3;0;9;")]


def small(house: House) -> MySensorsFirmware:
    sketches = [(1, ThermostatSketch("Hall", house.thermostat)), (2, ValveSketch("Valve", house, "bedroom"))]
    return MySensorsFirmware(sketches, house, period_s=10)


def test_the_gateway_starts_and_presents_itself_then_its_nodes_in_turn() -> None:
    firmware = small(House(1))
    assert said(firmware.boot(0)) == ["0;255;3;0;14;Gateway startup complete.", "0;255;0;0;18;2.3.2"]
    assert said(firmware.tick(0)) == []
    first = said(firmware.tick(5))
    assert first[:5] == [
        "1;255;0;0;17;2.3.2",
        "1;255;3;0;6;0",
        "1;255;3;0;11;Hall",
        "1;255;3;0;12;1.2",
        "1;0;0;0;29;Hall",
    ]
    assert "1;0;1;0;45;20.5" in first
    assert said(firmware.boot(6))[0].endswith("complete.")
    assert said(firmware.tick(6)) == []  # its nodes have not started anew


def test_a_set_is_echoed_if_asked_done_and_reported() -> None:
    house = House(1)
    firmware = small(house)
    firmware.boot(0)
    firmware.tick(5)
    assert said(firmware.receive(b"1;0;1;1;45;22.5\n", 6)) == ["1;0;1;1;45;22.5", "1;0;1;0;45;22.5"]
    assert house.thermostat.setpoint_c == 22.5
    assert said(firmware.receive(b"1;0;1;0;45;22.5\n", 6)) == ["1;0;1;0;45;22.5"]
    assert said(firmware.receive(b"1;0;1;0;45;99\n", 6)) == ["1;0;1;0;45;22.5"]  # out of its range: it stays


def test_a_node_that_sleeps_hears_only_for_a_moment() -> None:
    house = House(1)
    firmware = small(house)
    firmware.boot(0)
    assert said(firmware.tick(10))[-1] == "2;255;3;0;32;500"
    assert said(firmware.receive(b"2;0;1;1;45;16\n", 10.4))[0] == "2;0;1;1;45;16"
    assert house.rooms["bedroom"].valve_c == 16
    assert said(firmware.receive(b"2;0;1;1;45;17\n", 10.6)) == []
    assert firmware.unheard == 1
    assert house.rooms["bedroom"].valve_c == 16


def test_a_new_node_asks_for_a_number_until_it_has_one() -> None:
    firmware = twin(House(1))
    firmware.boot(0)
    asked = [line for now in (0.0, 1.0, 2.0) for line in said(firmware.tick(now)) if line == "255;255;3;0;3;"]
    assert len(asked) == 2
    firmware.receive(b"255;255;3;0;4;9\n", 2.1)
    assert "9;255;3;0;11;Attic climate" in said(firmware.tick(2.2))


def test_noise_from_the_controller_is_counted() -> None:
    firmware = small(House(1))
    firmware.boot(0)
    assert firmware.receive(b"nonsense\n\xff;1;1\n", 0) == []
    assert firmware.ignored == 2


async def test_pymysensors_takes_it_for_hardware(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It finds the nodes and their values, hands out a number, sets the thermostat and a node that sleeps, and reads them back."""
    caplog.set_level(logging.CRITICAL)
    house = House(1)
    station = Station(twin(house, 0.5), Wire(tmp_path / "port"), resets_on_open=True)
    async with running(asyncio.create_task(station.run())):
        await until(lambda: station.wire.is_plugged)
        gateway = SerialGateway(str(tmp_path / "port"), protocol_version="2.3")
        gateway.start()
        try:
            await until(lambda: set(range(1, 6)) <= gateway.sensors.keys())
            await until(lambda: all(_is_complete(gateway.sensors.get(number)) for number in (1, 2, 3, 4, 5)))
            nodes = gateway.sensors
            assert nodes[1].sketch_name == "Hall thermostat"
            assert nodes[1].protocol_version == "2.3.2"
            assert nodes[1].children[0].type == 29
            assert float(nodes[1].children[0].values[V_TEMP]) == pytest.approx(house.rooms["hall"].temperature_c, abs=1)
            await until(lambda: len(nodes) > 6)  # the gateway, five nodes, and the one that asked for a number
            await until(lambda: nodes[2].is_smart_sleep_node)

            gateway.set_child_value(1, 0, V_HEAT, 23.5)
            await until(lambda: house.thermostat.setpoint_c == 23.5)
            await until(lambda: nodes[1].children[0].values[V_HEAT] == "23.5")
            gateway.set_child_value(4, 1, V_STATUS, 1)
            await until(lambda: house.lamp_is_on)
            await until(lambda: nodes[4].children[1].values[V_STATUS] == "1")
            await until(lambda: nodes[3].is_smart_sleep_node)
            gateway.set_child_value(3, 0, V_HEAT, 17)
            await until(lambda: house.rooms["bedroom"].valve_c == 17)
            await until(lambda: nodes[3].children[0].values[V_HEAT] == "17.0")
        finally:
            await asyncio.to_thread(gateway.stop)


def _is_complete(node: Any) -> bool:
    return node is not None and node.sketch_name and node.children and all(c.values for c in node.children.values())
