"""The driver and a simulated OpenTherm Gateway on a pty; and pyotgw, which takes the simulation for hardware."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pyotgw
import pytest
from pyotgw import vars as v

from firmware_sim.devices.otgw import OtgwFirmware
from firmware_sim.house import House
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from gateway.drivers import opentherm
from gateway.drivers.codecs.opentherm import Frame, parse
from gateway.drivers.opentherm import OpenTherm, OpenThermOptions
from tests.drivers.field_support import Field, running
from tests.support.wait import until

PERIOD_S = 0.02


class Installed:
    """The simulated gateway at its port."""

    def __init__(self, folder: Path) -> None:
        self.house = House(3)
        self.firmware = OtgwFirmware(self.house, period_s=PERIOD_S)
        self.port = folder / "otgw"
        self.station = Station(self.firmware, Wire(self.port))


@pytest.fixture
async def otgw(tmp_path: Path) -> AsyncIterator[Installed]:
    installed = Installed(tmp_path)
    task = asyncio.create_task(installed.station.run())
    await until(installed.port.exists)
    yield installed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _driver(otgw: Installed, silent_after_s: float = 10.0) -> object:
    options = OpenThermOptions(port=str(otgw.port), silent_after_s=silent_after_s)
    return lambda link, intake: OpenTherm(link, options, intake)


async def _set(field: Field, thing: str, name: str, value: object) -> str:
    accepted = await field.core.commands.submit(thing, name, value, cause="test")
    return (await field.core.commands.settled(accepted.id, 20)).state


async def test_three_things_with_what_each_says(otgw: Installed, tmp_path: Path) -> None:
    async with running(tmp_path, "ot", _driver(otgw)) as field:  # type: ignore[arg-type]
        await until(lambda: field.value("boiler", "burner_hours") == 1234)
        await until(lambda: field.value("thermostat", "room_temperature") is not None)
        things = field.core.state.things
        assert set(things) == {"boiler", "thermostat", "otgw"}
        await until(lambda: field.value("boiler", "flow_temperature") is not None)
        assert abs(field.value("boiler", "flow_temperature") - otgw.house.boiler.flow_c) < 1
        assert field.value("thermostat", "setpoint") == otgw.house.thermostat.setpoint_c
        assert "return_temperature" not in things["boiler"].properties, "7FFF is no sensor"
        flow = things["boiler"].properties["flow_temperature"].definition
        assert (flow.unit, flow.class_) == ("°C", "temperature")
        assert things["otgw"].description.firmware == "6.6"
        assert field.core.sources.buses["ot"].is_up
        await until(lambda: field.value("otgw", "hot_water") == "auto")


async def test_a_setpoint_is_confirmed_by_the_thermostat_not_by_the_gateway(otgw: Installed, tmp_path: Path) -> None:
    async with running(tmp_path, "ot", _driver(otgw)) as field:  # type: ignore[arg-type]
        await until(lambda: field.value("thermostat", "setpoint") is not None)
        assert await _set(field, "thermostat", "setpoint", 23.5) == "confirmed"
        assert otgw.house.thermostat.setpoint_c == field.value("thermostat", "setpoint") == 23.5
        await until(lambda: field.value("boiler", "dhw_setpoint") is not None)
        assert await _set(field, "boiler", "dhw_setpoint", 52) == "confirmed"
        assert await _set(field, "otgw", "hot_water", "on") == "confirmed"
        assert "HW=1" in otgw.firmware.answered


async def test_what_the_gateway_refuses_is_rejected(otgw: Installed, tmp_path: Path) -> None:
    otgw.firmware._obey = lambda text: ["OR"] if text.startswith("TT") else [f"{text[:2]}: {text[3:]}"]  # type: ignore[method-assign]
    async with running(tmp_path, "ot", _driver(otgw)) as field:  # type: ignore[arg-type]
        await until(lambda: field.value("thermostat", "setpoint") is not None)
        assert await _set(field, "thermostat", "setpoint", 25) == "rejected"


async def test_a_command_that_was_lost_is_said_again(
    otgw: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opentherm, "ANSWER_S", 0.1)
    obey, heard = otgw.firmware._obey, []

    def deaf_once(text: str) -> list[str]:
        heard.append(text)
        return [] if heard.count(text) == 1 and text.startswith("TT") else obey(text)

    otgw.firmware._obey = deaf_once  # type: ignore[method-assign]
    async with running(tmp_path, "ot", _driver(otgw)) as field:  # type: ignore[arg-type]
        await until(lambda: field.value("thermostat", "setpoint") is not None)
        assert await _set(field, "thermostat", "setpoint", 19.5) == "confirmed"
        assert [text for text in heard if text.startswith("TT")] == ["TT=19.50", "TT=19.50"]


async def test_a_silent_bus_takes_thermostat_and_boiler_away_and_not_the_gateway(
    otgw: Installed, tmp_path: Path
) -> None:
    async with running(tmp_path, "ot", _driver(otgw, 2.0)) as field:  # type: ignore[arg-type]
        await until(lambda: field.value("boiler", "flow_temperature") is not None and field.is_online("thermostat"))
        exchange = otgw.firmware._exchange
        otgw.firmware._exchange = lambda id: []  # type: ignore[method-assign]
        await until(lambda: not field.is_online("boiler") and not field.is_online("thermostat"), timeout_s=20)
        await until(lambda: not field.core.sources.buses["ot"].is_up)
        assert field.keeper.status.is_up
        assert field.is_online("otgw")
        assert field.quality("boiler", "flow_temperature") == "stale"
        otgw.firmware._exchange = lambda id: [one for one in exchange(id) if one[:1] == b"T"]  # type: ignore[method-assign]
        await until(lambda: field.is_online("thermostat"))
        assert field.core.sources.buses["ot"].is_up
        assert not field.is_online("boiler"), "a boiler that does not answer is not there, though the bus speaks"


async def test_it_is_set_while_the_line_is_cut_at_random(otgw: Installed, tmp_path: Path) -> None:
    """In the end the target, what is reported and the thermostat agree, and each command has had one outcome."""
    dice = random.Random(7)
    async with running(tmp_path, "ot", _driver(otgw)) as field:  # type: ignore[arg-type]
        core = field.core
        await until(lambda: field.value("thermostat", "setpoint") is not None)
        asked: list[str] = []
        for turn in range(12):
            cut = asyncio.create_task(otgw.station.unplug(0.05)) if dice.random() < 0.6 else None
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
            await until(lambda: field.is_online("thermostat"))
            value = 15 + turn / 2
            accepted = await core.commands.submit("thermostat", "setpoint", value, cause="test")
            asked.append(accepted.id)
            if cut:
                await cut
            await core.commands.settled(accepted.id, 30)
        await until(lambda: field.is_online("thermostat"))
        assert await _set(field, "thermostat", "setpoint", 18.5) == "confirmed"
        record = core.state.things["thermostat"].properties["setpoint"]
        assert record.target in (None, 18.5)
        assert record.value == otgw.house.thermostat.setpoint_c == 18.5
        outcomes = [core.commands.get(id).state for id in asked]
        assert set(outcomes) <= {"confirmed", "failed", "expired"}
        assert "confirmed" in outcomes


async def test_pyotgw_takes_the_simulation_for_hardware(otgw: Installed) -> None:
    client = pyotgw.OpenThermGateway()
    try:
        async with asyncio.timeout(30):
            status = await client.connect(str(otgw.port), timeout=10)
        assert status[v.OTGW][v.OTGW_ABOUT] == "OpenTherm Gateway 6.6"
        assert status[v.BOILER][v.DATA_DHW_SETPOINT] == 50.0
        assert status[v.THERMOSTAT][v.DATA_ROOM_SETPOINT] == otgw.house.thermostat.setpoint_c
        assert await client.set_target_temp(22.5) == 22.5
        await until(lambda: otgw.house.thermostat.setpoint_c == 22.5)
        await until(lambda: client.status.status[v.THERMOSTAT].get(v.DATA_ROOM_SETPOINT) == 22.5)
        await until(lambda: abs(client.status.status[v.BOILER][v.DATA_CH_WATER_TEMP] - otgw.house.boiler.flow_c) < 1)
        assert await client.set_dhw_setpoint(55) == 55
    finally:
        await client.disconnect()


def test_every_frame_of_the_simulation_is_right() -> None:
    firmware = OtgwFirmware(House(1), period_s=0.2)
    lines = [line.strip() for turn in range(1, 200) for line in firmware.tick(turn * 0.1)]
    assert len(lines) > 300
    assert all(isinstance(parse(line), Frame) for line in lines)
