"""The driver `mysensors`, in a running core, and a simulated gateway with its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from firmware_sim.faults import FaultPlan, Faults
from firmware_sim.house import House
from firmware_sim.kinds import KINDS
from firmware_sim.kinds import Settings as TwinSettings
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from gateway.core.command import FINAL, Command
from gateway.core.errors import ThingOffline
from gateway.core.intake import Intake
from gateway.drivers.mysensors import MySensors, MySensorsOptions
from tests.drivers.field_support import Field, running
from tests.support.simulator import Simulator
from tests.support.wait import until


def make(port: Path) -> Any:
    def made(link: str, intake: Intake) -> MySensors:
        return MySensors(link, MySensorsOptions(port=str(port)), intake)

    return made


async def submit(field: Field, thing: str, name: str, value: Any) -> Command:
    return await field.core.commands.submit(thing, name, value, cause="test")


async def set_to(field: Field, thing: str, name: str, value: Any) -> str:
    accepted = await submit(field, thing, name, value)
    return (await field.core.commands.settled(accepted.id, 20)).state


async def test_nodes_appear_as_they_present_themselves_and_are_set(tmp_path: Path) -> None:
    """Those on the mains at once, those that sleep when they wake, a new one under the number that it was given; also after a restart."""
    port = tmp_path / "port"
    async with (
        Simulator("device", "mysensors", "--link", port, "--period", "1"),
        running(tmp_path, "radio", make(port)) as field,
    ):
        things = field.core.state.things
        await until(lambda: {f"node-{number}" for number in (*range(6), 254)} <= things.keys())
        await until(lambda: field.value("node-254", "temperature_0") is not None)
        await until(lambda: things["node-1"].description.model == "Hall thermostat")
        await until(lambda: "setpoint_heat_0" in things["node-3"].properties)
        assert things["node-0"].description.firmware == "2.3.2"
        assert things["node-2"].description.sleeps
        assert not things["node-1"].description.sleeps
        assert things["node-5"].properties["tripped_0"].definition.class_ == "opening"
        assert things["node-2"].properties["level_2"].definition.unit == "lx"
        setpoint = things["node-1"].properties["setpoint_heat_0"].definition
        assert (setpoint.writable, setpoint.unit, setpoint.class_, setpoint.type) == (True, "°C", "setpoint", "number")
        assert not things["node-1"].properties["temperature_0"].definition.writable

        assert await set_to(field, "node-1", "setpoint_heat_0", 22.5) == "confirmed"
        assert field.value("node-1", "setpoint_heat_0") == 22.5
        assert await set_to(field, "node-1", "flow_state_0", "AutoChangeOver") == "confirmed"
        assert await set_to(field, "node-4", "status_1", True) == "confirmed"
        assert await set_to(field, "node-3", "setpoint_heat_0", 17.5) == "confirmed"  # it sleeps
        assert field.value("node-3", "setpoint_heat_0") == 17.5
    port_2 = tmp_path / "port2"
    async with running(tmp_path, "radio", make(port_2)) as field:
        assert field.core.state.things["node-3"].description.sleeps
        assert field.core.sources.asleep >= {"node-2", "node-3"}
        async with Simulator("device", "mysensors", "--link", port_2, "--period", "1"):
            await until(lambda: field.is_online("node-3") and field.is_online("node-1"))
            assert await set_to(field, "node-3", "setpoint_heat_0", 19.0) == "confirmed"
            await until(lambda: field.is_online("node-253"))  # the new one, new again: its numbers are not given twice


async def test_a_command_to_a_node_that_sleeps_waits_until_it_wakes(tmp_path: Path) -> None:
    port = tmp_path / "port"
    async with (
        Simulator("device", "mysensors", "--link", port, "--period", "3"),
        running(tmp_path, "radio", make(port)) as field,
    ):
        await until(lambda: field.value("node-3", "setpoint_heat_0") is not None)
        await until(lambda: "node-3" in field.core.sources.asleep)
        accepted = await submit(field, "node-3", "setpoint_heat_0", 16.0)
        assert await set_to(field, "node-1", "setpoint_heat_0", 21.0) == "confirmed"  # it holds up nobody
        waiting = field.core.commands.get(accepted.id)
        assert waiting is not None
        assert waiting.state == "accepted"
        assert (await field.core.commands.settled(accepted.id, 20)).state == "confirmed"


async def test_a_thermostat_is_set_while_its_line_is_cut_again_and_again(tmp_path: Path) -> None:
    """In the end target, reported value and the device's own state agree, and each command has exactly one outcome."""
    port, dice, house = tmp_path / "port", random.Random(7), House(1)
    firmware = KINDS["mysensors"].build(house, TwinSettings(period_s=0.5))
    station = Station(firmware, Wire(port), Faults(FaultPlan(split=True), 1), resets_on_open=True)

    is_over = asyncio.Event()

    async def cut() -> None:
        while not is_over.is_set():
            await asyncio.sleep(dice.uniform(0.05, 0.5))
            await station.unplug(dice.uniform(0.02, 0.1))

    async with running(tmp_path, "radio", make(port)) as field, asyncio.TaskGroup() as tasks:
        simulated = tasks.create_task(station.run())
        await until(lambda: field.value("node-1", "setpoint_heat_0") is not None)
        cutting = tasks.create_task(cut())
        asked: list[Command] = []
        commands = field.core.commands
        # How many fall between two cuts is chance: at least one has to.
        while len(asked) < 12 or (
            len(asked) < 200 and "confirmed" not in {commands.get(one.id).state for one in asked}
        ):
            value = dice.randrange(10, 60) / 2
            with contextlib.suppress(ThingOffline):  # refused at once: it never was a command
                asked.append(await submit(field, "node-1", "setpoint_heat_0", value))
            if asked and dice.random() < 0.7:
                await field.core.commands.settled(asked[-1].id, 20)
            await asyncio.sleep(dice.uniform(0, 0.1))
        ends = [(await field.core.commands.settled(one.id, 20)).state for one in asked]
        assert set(ends) <= FINAL
        assert "confirmed" in ends
        is_over.set()
        await cutting
        target, state = 23.5, ""
        while state != "confirmed":
            await until(lambda: field.is_online("node-1"))
            with contextlib.suppress(ThingOffline):
                state = await set_to(field, "node-1", "setpoint_heat_0", target)
        assert field.value("node-1", "setpoint_heat_0") == target
        assert house.thermostat.setpoint_c == target
        entries = await field.core.journal.read(0, 100_000)
        simulated.cancel()
    ended = Counter(
        json.loads(entry.body)["command"] for entry in entries if entry.type.removeprefix("command.") in FINAL
    )
    assert {ended[one.id] for one in asked} == {1}
