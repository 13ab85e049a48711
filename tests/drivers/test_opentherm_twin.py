"""The driver `opentherm`, the running core, and a simulated gateway that somebody else wrote, over a real terminal."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from firmware_sim.devices.otgw import OtgwFirmware
from firmware_sim.house import House
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from gateway.core.clock import Clock
from gateway.core.command import FINAL
from gateway.core.core import Core, Settings, open_core
from gateway.core.errors import ThingOffline
from gateway.core.things import RuleBook
from gateway.drivers.opentherm import OpenTherm, OpenThermOptions
from gateway.links.keeper import Keeper
from tests.support.wait import until


class Setup:
    """A core whose one link is an OpenTherm Gateway."""

    def __init__(self, core: Core, folder: Path, period_s: float, silent_after_s: float) -> None:
        self.core = core
        self.house = House(3)
        self.firmware = OtgwFirmware(self.house, period_s=period_s)
        self.station = Station(self.firmware, Wire(folder / "port"))
        options = OpenThermOptions(port=str(folder / "port"), silent_after_s=silent_after_s, reply_timeout_s=0.5)
        intake = core.intake("boiler")
        intake.on_ack, intake.on_nak = core.commands.acked, core.commands.refused
        self.driver = OpenTherm("boiler", options, intake)
        self.keeper = Keeper(
            "boiler",
            self.driver.opener(),
            self.driver.session,
            intake.link_up,
            intake.link_down,
            first_s=0.02,
            max_s=0.1,
        )

    def availability(self, thing: str) -> str:
        known = self.core.state.things.get(thing)
        return known.availability if known else ""

    def bus(self) -> str:
        bus = self.core.sources.buses.get("boiler")
        return "unknown" if bus is None else "up" if bus.is_up else bus.reason

    def value(self, thing: str, name: str) -> object:
        known = self.core.state.things.get(thing)
        record = known.properties.get(name) if known else None
        return record.value if record else None

    async def set(self, thing: str, name: str, value: object) -> tuple[str, str | None]:
        accepted = await self.core.commands.submit(thing, name, value, cause="test")
        settled = await self.core.commands.settled(accepted.id, 20)
        return settled.state, settled.reason


@asynccontextmanager
async def running(folder: Path, *, period_s: float = 0.02, silent_after_s: float = 2.0) -> AsyncIterator[Setup]:
    core = open_core(folder, Settings(commit_gap_s=0), RuleBook(), Clock())
    core.start(["boiler"])
    it = Setup(core, folder, period_s, silent_after_s)
    tasks = [
        asyncio.create_task(it.station.run()),
        asyncio.create_task(it.keeper.run()),
        asyncio.create_task(core.commands.serve("boiler", it.driver.send)),
    ]
    try:
        await until(lambda: it.value("thermostat", "setpoint") is not None)
        yield it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await core.close()


async def test_the_house_is_seen_through_the_gateway(tmp_path: Path) -> None:
    """Each thing says what is its own."""
    async with running(tmp_path) as it:
        await until(lambda: it.value("boiler", "burner_starts") == 7368)
        await until(lambda: it.value("otgw", "setback") == 16.0)
        await until(lambda: it.value("boiler", "flow_temperature") is not None)
        things = it.core.state.things
        assert it.value("thermostat", "setpoint") == it.house.thermostat.setpoint_c
        assert abs(float(str(it.value("thermostat", "temperature"))) - it.house.rooms["hall"].temperature_c) < 1
        assert abs(float(str(it.value("boiler", "flow_temperature"))) - it.house.boiler.flow_c) < 1
        assert it.value("otgw", "mode") == "gateway"
        assert things["otgw"].description.firmware == "6.6"
        assert things["thermostat"].properties["setpoint"].definition.writable
        assert things["boiler"].properties["flow_temperature"].definition.unit == "°C"
        assert "outside_temperature" not in things["boiler"].properties, "the boiler has no such sensor, and says so"
        assert set(it.core.sources.lines) <= {("boiler", "accepted", "")}


async def test_what_can_be_set(tmp_path: Path) -> None:
    """The setpoint is confirmed by the thermostat itself, hot water by the boiler, the gateway's own by the gateway; what it refuses is
    rejected with its reason."""
    async with running(tmp_path) as it:
        assert await it.set("thermostat", "setpoint", 22.5) == ("confirmed", None)
        assert it.house.thermostat.setpoint_c == 22.5
        assert it.value("thermostat", "setpoint") == 22.5
        assert it.value("otgw", "setpoint_override") == 22.5
        await until(lambda: it.value("boiler", "dhw_setpoint") == 55.0)
        assert await it.set("boiler", "dhw_setpoint", 52.0) == ("confirmed", None)
        assert it.firmware.boiler.dhw_setpoint_c == 52.0
        for name, value in (
            ("hot_water", "on"),
            ("mode", "monitor"),
            ("mode", "gateway"),
            ("outside_temperature", 7.5),
        ):
            assert await it.set("otgw", name, value) == ("confirmed", None)
            assert it.value("otgw", name) == value
        assert await it.set("otgw", "control_setpoint", 45.0) == ("confirmed", None)
        await until(lambda: it.firmware.boiler.control_c == 45.0)
        assert await it.set("otgw", "setpoint_override", 0.0) == ("confirmed", None)
        await until(lambda: it.house.thermostat.setpoint_c == 20.5)
        it.firmware.orders.obey = lambda command, now_s: [f"{command[:2]}: OR"]  # type: ignore[method-assign]
        assert await it.set("thermostat", "setpoint", 19.0) == ("rejected", "the gateway says OR (out of range)")
        it.firmware.orders.obey = lambda command, now_s: []  # type: ignore[method-assign]
        state, reason = await it.set("otgw", "hot_water", "off")
        assert (state, reason) == ("failed", "the device did not answer")


async def test_a_command_that_noise_has_spoiled_is_repeated(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await until(lambda: it.value("otgw", "setback") is not None)
        obey, heard = it.firmware.orders.obey, []

        def deaf_at_first(command: str, now_s: float) -> list[str]:
            heard.append(command)
            return {1: [], 2: ["SE"]}.get(len(heard)) or ([] if len(heard) < 2 else obey(command, now_s))

        it.firmware.orders.obey = deaf_at_first  # type: ignore[method-assign]
        assert await it.set("otgw", "hot_water", "on") == ("confirmed", None)
        assert heard == ["HW=1"] * 3


async def test_each_thing_has_its_own_availability(tmp_path: Path) -> None:
    """The boiler may be off while the thermostat speaks, and the whole bus silent while the line is up."""
    async with running(tmp_path) as it:
        await until(lambda: it.availability("boiler") == "online")
        it.firmware.is_boiler_silent = True
        await until(lambda: it.availability("boiler") == "offline")
        assert it.core.state.things["boiler"].reason == "the boiler has said nothing for 2 s"
        assert (it.availability("thermostat"), it.availability("otgw")) == ("online", "online")
        assert it.bus() == "up"
        it.firmware.is_boiler_silent, it.firmware.is_bus_silent = False, True
        await until(lambda: it.availability("thermostat") == "offline")
        assert it.bus() == "no OpenTherm message for 2 s"
        assert it.keeper.status.is_up
        assert it.availability("otgw") == "online", "it answers when it is asked"
        with pytest.raises(ThingOffline):
            await it.set("thermostat", "setpoint", 22.0)
        it.firmware.is_bus_silent = False
        await until(lambda: it.availability("thermostat") == it.availability("boiler") == "online")
        assert it.bus() == "up"


async def test_a_gateway_that_is_dead_behind_an_open_line_is_offline(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        it.firmware.is_bus_silent = True
        it.firmware.orders.obey = lambda command, now_s: []  # type: ignore[method-assign]
        await until(lambda: it.availability("otgw") == "offline")
        assert it.keeper.status.is_up


async def test_a_thermostat_is_set_while_the_line_is_cut_at_random(tmp_path: Path) -> None:
    """At the end target, reported value and the thermostat's own state agree, and each command has one outcome."""
    dice = random.Random(11)
    async with running(tmp_path) as it:

        async def cut() -> None:
            for _ in range(12):
                await asyncio.sleep(dice.uniform(0.05, 0.5))
                await it.station.unplug(dice.uniform(0.02, 0.15))

        cutting, ids = asyncio.create_task(cut()), list[str]()
        while not cutting.done():
            with contextlib.suppress(ThingOffline):
                value = dice.randrange(12, 50) / 2
                ids.append((await it.core.commands.submit("thermostat", "setpoint", value, cause="test")).id)
            await asyncio.sleep(dice.uniform(0.0, 0.25))
        await cutting
        await until(lambda: it.availability("thermostat") == "online")
        await until(lambda: it.bus() == "up")
        last = await it.core.commands.submit("thermostat", "setpoint", 23.5, cause="test")
        ids.append(last.id)
        assert (await it.core.commands.settled(last.id, 20)).state == "confirmed"
        finals = [(await it.core.commands.settled(id, 20)).state for id in ids]
        outcomes = Counter(finals)
        assert set(outcomes) <= {"confirmed", "failed", "superseded", "expired"}
        assert outcomes["confirmed"] > 1
        assert outcomes["failed"] > 1
        assert it.value("thermostat", "setpoint") == it.house.thermostat.setpoint_c == 23.5
        ended = Counter[str]()
        after = 0
        while entries := await it.core.journal.read(after, 1000):
            after = entries[-1].seq
            changes = [msgspec.json.decode(entry.body) for entry in entries]
            ended.update(c["command"] for c in changes if c["type"].removeprefix("command.") in FINAL)
        assert ended == Counter(ids)
