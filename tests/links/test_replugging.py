"""Five hundred unplugs at random moments, commands in flight: the line is back each time, and nothing is left or answered twice."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.clock import Clock
from gateway.core.command import FINAL
from gateway.core.core import Core, Settings, open_core
from gateway.core.errors import CommandError
from gateway.core.things import RuleBook
from gateway.drivers.jsonlines import JsonLines, JsonLinesOptions
from gateway.links.base import Port
from gateway.links.keeper import Keeper
from gateway.links.serial_port import SerialOpener
from tests.core.house import changes
from tests.support.leaks import nothing_left
from tests.support.ptys import Plug

ROUNDS = 500
DESCRIBE = (
    b'{"thing":"hall","describe":{"model":"TH","properties":'
    b'{"setpoint":{"type":"number","writable":true,"min":5,"max":30,"step":0.5}}}}\n'
)


class Thermostat:
    """At the far end of the plug; it remembers what it was asked, and answers when it is told to."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug
        self._half = b""
        self.setpoint = 20.0
        self.asked: Counter[str] = Counter()

    async def introduce_itself(self) -> None:
        self._half = b""
        await self._plug.send(b"\n" + DESCRIBE + self._values())

    async def answer(self) -> None:
        """Reads what it was told meanwhile, and says what it is set to now."""
        *lines, self._half = (self._half + self._plug.hear()).split(b"\n")
        for line in lines:
            if b'"set"' in line and line.startswith(b"{"):
                said: dict[str, Any] = json.loads(line)
                self.asked[said["id"]] += 1
                self.setpoint = said["set"]["setpoint"]
        await self._plug.send(self._values())

    def _values(self) -> bytes:
        return b'{"thing":"hall","values":{"setpoint":%.1f}}\n' % self.setpoint


async def one_round(chance: random.Random, core: Core, keeper: Keeper[Any], plug: Plug, device: Thermostat) -> None:
    """From an open line to a closed one, with a command or two on their way at the moment it is cut."""
    await device.introduce_itself()
    await soon(lambda: "hall" in core.state.things and core.state.things["hall"].availability == "online")
    async with asyncio.TaskGroup() as asking:
        for _ in range(chance.randint(1, 2)):
            asking.create_task(ask(core, chance.randrange(10, 60) / 2))
        for _ in range(chance.randint(0, 12)):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            await asyncio.sleep(chance.random() * 0.008)
        if chance.random() < 0.5:
            await device.answer()
            await asyncio.sleep(chance.random() * 0.004)
        plug.unplug()
        await soon(lambda: not keeper.status.is_up)


async def soon(predicate: Callable[[], object]) -> None:
    """`until`, for many short waits."""
    async with asyncio.timeout(20):
        while not predicate():
            await asyncio.sleep(0.0005)


async def ask(core: Core, value: float) -> None:
    """A thing that has just gone takes no command: that is an answer, too."""
    try:
        await core.commands.submit("hall", "setpoint", value, cause="test")
    except CommandError:
        return


async def outcomes(core: Core) -> tuple[Counter[str], Counter[str], set[str]]:
    """Outcomes by command, outcomes by kind, and the commands of which the journal says that they were sent and then failed."""
    each: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failed: set[str] = set()
    for change in await changes(core):
        if change.type == "command" or change.type.startswith("command."):
            id, state = str(change.command), change.type.removeprefix("command.")
            if state in FINAL:
                each[id] += 1
                kinds[state] += 1
            else:
                each[id] += 0
            if state == "failed":
                failed.add(id)
    return each, kinds, failed


def test_a_line_is_looked_for_again_often_enough() -> None:
    """The longest pause of a link, and a slow opening, leave room below the five seconds that were promised."""
    keeper = Keeper("usb0", SerialOpener("/dev/null"), never, lambda: None, lambda reason: None)
    pauses = [keeper.backoff.take() for _ in range(50)]
    assert max(pauses) <= 2.0


async def never(line: Port) -> None:
    raise AssertionError("it is not run")


async def test_five_hundred_unplugs_with_commands_in_flight(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Under another tty number every second time. Each command has one outcome, none is sent twice, one line is logged each way."""
    caplog.set_level(logging.INFO, "gateway.links")
    chance = random.Random(20261126)
    plug = Plug(tmp_path / "port")
    device = Thermostat(plug)
    async with nothing_left():
        core = open_core(tmp_path, Settings(commit_gap_s=0, command_deadline_s=5), RuleBook(), Clock())
        core.start(["usb0"])
        intake = core.intake("usb0")
        driver = JsonLines("usb0", JsonLinesOptions(port=str(plug.link)), intake)
        keeper = Keeper(
            "usb0", driver.opener(), driver.session, intake.link_up, intake.link_down, first_s=0.001, max_s=0.004
        )
        with plug:
            tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(core.commands.serve("usb0", driver.send))]
            for n in range(ROUNDS):
                await soon(lambda: keeper.status.is_up)
                await one_round(chance, core, keeper, plug, device)
                plug.plug(elsewhere=bool(n % 2))
            await soon(lambda: keeper.status.is_up)
            await device.introduce_itself()
            await all_settled(core, device)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        each, kinds, failed = await outcomes(core)
        await core.close()
    assert set(each.values()) == {1}, "each command has exactly one outcome"
    assert kinds["failed"] > ROUNDS / 10, kinds
    assert kinds["confirmed"] > ROUNDS / 20, kinds
    assert failed
    assert set(device.asked.values()) == {1}, "none is sent again"
    assert set(device.asked) <= set(each)
    levels = Counter(record.levelname for record in caplog.records)
    assert levels == {"WARNING": ROUNDS, "INFO": ROUNDS + 1}


async def all_settled(core: Core, device: Thermostat) -> None:
    """What still waits is sent now, and answered."""
    async with asyncio.timeout(20):
        while any(command.state not in FINAL for command in core.commands.recent()):
            await device.answer()
            await asyncio.sleep(0.02)
