"""A gateway with an MQTT upstream and nothing else: a real core on a real disk, a device that obeys, an outlet to be cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.core.change import PROPERTY_CHANGED
from gateway.core.clock import Clock
from gateway.core.commands import Command
from gateway.core.core import Core, Settings, open_core
from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription, RuleBook
from gateway.outlets.mqtt import Mqtt, MqttSettings
from tests.support.wait import until

LINK = "sim"
ROOT = "hearthgate/hall-pi"

HALL = Description(
    model="TH-2",
    properties={
        "temperature": PropertyDescription(type="number", unit="°C"),
        "setpoint": PropertyDescription(type="number", unit="°C", writable=True, min=5, max=30, step=0.5),
        "mode": PropertyDescription(type="enum", writable=True, values=("off", "heat")),
        "light": PropertyDescription(type="boolean", writable=True),
    },
)


class House:
    """What tests drive: the core's inside, and the outlet, which can be ended and begun again."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.sent: list[Command] = []
        self.obeys = True
        self.intake = Intake(core.sources, LINK)
        self.tasks: list[asyncio.Task[None]] = []

    def describe(self) -> None:
        self.intake.describe("hall", HALL)
        self.report(temperature=20.5, setpoint=21.0, mode="heat", light=False)

    def report(self, thing: str = "hall", **values: Any) -> None:
        self.intake.report(thing, values)

    async def settle(self) -> None:
        """Returns when everything said so far is visible."""
        await self.core.store.flush()

    async def append(self, count: int, *, thing: str = "hall", name: str = "n") -> list[int]:
        """Adds changes to the journal; their seqs, once they are visible."""
        seqs = [
            self.core.journal.append(PROPERTY_CHANGED, thing=thing, name=name, value=number, quality="good").seq
            for number in range(count)
        ]
        await self.core.journal.committed(seqs[-1])
        return seqs

    def outlet(self, *urls: str, **settings: Any) -> Mqtt:
        core = self.core
        return Mqtt(
            MqttSettings(
                urls=urls, gateway_id="hall-pi", gateway_name="Hall", software="0.1", **({"window": 100} | settings)
            ),
            journal=core.journal,
            store=core.store,
            cursors=core.cursors,
            state=core.state,
            commands=core.commands,
            alerts=core.alerts,
            clock=core.clock,
        )

    @asynccontextmanager
    async def running(self, outlet: Mqtt, *, up: bool = True) -> AsyncIterator[Mqtt]:
        """Runs the outlet, and ends it in an orderly way."""
        task = asyncio.create_task(outlet.run(), name="test mqtt")
        try:
            if up:
                await until(lambda: outlet.status().is_up or task.done(), what="the outlet is connected")
            yield outlet
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def alerts(self) -> set[str]:
        return {alert.kind for alert in self.core.alerts.active()}

    async def obey(self, command: Command) -> None:
        """The device: takes every command and reports the new value, unless it was told not to."""
        self.sent.append(command)
        if self.obeys:
            self.core.commands.acked(command.id)
            self.report(command.thing, **{command.name: command.value})


@asynccontextmanager
async def open_house(folder: Path) -> AsyncIterator[House]:
    core = open_core(
        folder, Settings(durability="process", commit_gap_s=0.0, answer_timeout_s=0.5), RuleBook(), Clock(trust=True)
    )
    core.start([LINK])
    house = House(core)
    device = asyncio.create_task(core.commands.serve(LINK, house.obey), name="test device")
    try:
        house.describe()
        await house.settle()
        yield house
    finally:
        device.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await device
        await core.close()
