"""What tests of drivers on lines share: an intake that writes down who sleeps, a tape for a port, and a driver in a running core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.core.clock import Clock
from gateway.core.core import Core, Settings, open_core
from gateway.core.errors import LinkError
from gateway.core.memory import Memory
from gateway.core.things import RuleBook
from gateway.drivers.base import Driver
from gateway.links.base import Port
from gateway.links.keeper import Keeper
from tests.drivers.recording import RecordingIntake


class FieldIntake(RecordingIntake):
    """Also remembers, and writes down who sleeps."""

    def __init__(self, link: str = "radio", memory: Memory | None = None) -> None:
        super().__init__(link)
        self.memory = memory or Memory(None, link)

    def asleep(self, thing: str) -> None:
        self.said.append(("asleep", thing))

    def awake(self, thing: str) -> None:
        self.said.append(("awake", thing))

    def bus_up(self) -> None:
        self.said.append(("bus up",))

    def bus_down(self, reason: str) -> None:
        self.said.append(("bus down", reason))

    def readings(self) -> list[tuple[str, str, Any]]:
        """Every reading, in order: thing, name, value."""
        return [(said[1], name, value) for said in self.said if said[0] == "report" for name, value in said[2].items()]


class Tape:
    """A port that plays chunks and then waits, or is lost; what is written is kept.

    Attributes:
        hold: of what is written while this is set, only the beginning is taken until it rings.
    """

    where = "tape"

    def __init__(self, *chunks: bytes, is_lost: bool = True) -> None:
        self._chunks = list(chunks)
        self._is_lost = is_lost
        self.written = b""
        self.hold: asyncio.Event | None = None

    async def read(self) -> bytes:
        if self._chunks:
            return self._chunks.pop(0)
        if self._is_lost:
            raise LinkError(self.where, "ended")
        await asyncio.Event().wait()
        raise AssertionError

    async def listen(self, hear: Callable[[bytes], bool]) -> None:
        while hear(await self.read()):
            pass

    async def write(self, data: bytes) -> None:
        if self.hold is not None:
            self.written += data[:3]
            await self.hold.wait()
        self.written += data

    async def close(self) -> None: ...


async def play(driver: Driver[Port], *chunks: bytes) -> Tape:
    """One session of a driver on a line that brings these chunks and is then lost."""
    tape = Tape(*chunks)
    with pytest.raises(LinkError, match="ended"):
        await driver.session(tape)
    return tape


@dataclass
class Field:
    """A driver that runs in a core of its own."""

    core: Core
    keeper: Keeper[Port]
    driver: Driver[Port]

    def value(self, thing: str, name: str) -> Any:
        """The property's value; None for one that is not there."""
        known = self.core.state.things.get(thing)
        record = known.properties.get(name) if known else None
        return record.value if record else None

    def quality(self, thing: str, name: str) -> str | None:
        record = self.core.state.things[thing].properties.get(name)
        return record.quality if record else None

    def is_online(self, thing: str) -> bool:
        known = self.core.state.things.get(thing)
        return known is not None and known.availability == "online"


@asynccontextmanager
async def running(
    folder: Path, link: str, make: Callable[[str, Any], Driver[Port]], settings: Settings | None = None
) -> AsyncIterator[Field]:
    """A core on this folder's state, with one link. `make(link, intake)` makes its driver."""
    core = open_core(folder, settings or Settings(commit_gap_s=0), RuleBook(), Clock())
    core.start([link])
    intake = core.intake(link)
    intake.on_ack, intake.on_nak = core.commands.acked, core.commands.refused
    driver = make(link, intake)
    keeper = Keeper(link, driver.opener(), driver.session, intake.link_up, intake.link_down, first_s=0.02, max_s=0.1)
    tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(core.commands.serve(link, driver.send))]
    try:
        yield Field(core, keeper, driver)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await core.close()
