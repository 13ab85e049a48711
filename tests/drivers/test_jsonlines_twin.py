"""The driver `jsonlines` and a simulated thermostat, which was written from the design by somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.clock import Clock
from gateway.core.core import Core, Settings, open_core
from gateway.core.things import RuleBook
from gateway.drivers.jsonlines import JsonLines, JsonLinesOptions
from gateway.links.keeper import Keeper
from tests.support.simulator import Simulator
from tests.support.wait import until


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    core = open_core(tmp_path, Settings(commit_gap_s=0), RuleBook(), Clock())
    core.start(["usb0"])
    yield core
    await core.close()


async def test_a_thermostat_describes_itself_is_set_and_comes_back(core: Core, tmp_path: Path) -> None:
    """Also after it was unplugged and plugged in again under another tty, and with noise on the line."""
    intake = core.intake("usb0")
    intake.on_ack, intake.on_nak = core.commands.acked, core.commands.refused
    port = tmp_path / "port"
    driver = JsonLines("usb0", JsonLinesOptions(port=str(port)), intake)
    keeper = Keeper("usb0", driver.opener(), driver.session, intake.link_up, intake.link_down, first_s=0.02, max_s=0.1)
    tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(core.commands.serve("usb0", driver.send))]
    for faults in ((), ("--faults", "split,corrupt=0.05")):
        async with Simulator("device", "thermostat", "--link", port, "--period", "0.2", *faults):
            await until(lambda: core.state.things and "online" in {t.availability for t in core.state.things.values()})
            (thing,) = core.state.things.values()
            await until(lambda thing=thing: "setpoint" in thing.properties)  # type: ignore[misc]
            await until(lambda thing=thing: thing.properties["setpoint"].definition.writable)  # type: ignore[misc]
            assert thing.properties["setpoint"].definition.unit == "°C"
            for value in (22.0, 18.5):
                accepted = await core.commands.submit(thing.id, "setpoint", value, cause="test")
                settled = await core.commands.settled(accepted.id, 20)
                assert settled.state == "confirmed" or faults
        await until(lambda: not keeper.status.is_up)
        await until(lambda thing=thing: thing.availability == "offline")  # type: ignore[misc]
    assert core.sources.lines["usb0", "accepted", ""] > 4
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
