"""A gateway's core in a process of its own, to be killed: appends without end, and tells each change that a reader has seen.

    python -m tests.core.child FOLDER DURABILITY
    python -m tests.core.child FOLDER commands

With `commands` it sends one command to a device that never answers, and tells what the device got.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

from gateway.core.clock import Clock
from gateway.core.commands import Command
from gateway.core.core import Core, Settings, open_core
from gateway.core.store import Durability
from gateway.core.things import RuleBook
from gateway.outlets.reader import Reader
from tests.core.house import HALL, LINK


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def read(core: Core) -> None:
    reader = Reader(core.journal, after=core.journal.head)
    while True:
        for entry in (await reader.next(200)).entries:
            tell(f"{entry.seq} {entry.body.decode()}")


async def append(core: Core) -> None:
    number = 0
    while True:
        for _ in range(50):
            core.journal.append("event.raised", thing="t", name="n", value=number, urgent=number % 7 == 0)
            number += 1
        if core.journal.is_full:
            await core.journal.room()
        await asyncio.sleep(0)


async def under_load(folder: Path, durability: Durability) -> None:
    core = open_core(folder, Settings(durability=durability, commit_gap_s=0.0, flush_s=0.05), RuleBook(), Clock())
    core.start([])
    async with asyncio.TaskGroup() as group:
        group.create_task(read(core))
        group.create_task(append(core))


async def with_a_command(folder: Path) -> None:
    core = open_core(folder, Settings(commit_gap_s=0.0), RuleBook(), Clock())
    core.start([LINK])
    intake = core.intake(LINK)
    intake.describe("hall", HALL)
    intake.report("hall", {"setpoint": 20.0})
    await core.store.flush()

    async def send(command: Command) -> None:
        tell(f"got {command.id}")
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(core.commands.serve(LINK, send))
        command = await core.commands.submit("hall", "setpoint", 21.5, cause="test", key="once")
        tell(f"submitted {command.id}")


if __name__ == "__main__":
    if sys.argv[2] == "commands":
        asyncio.run(with_a_command(Path(sys.argv[1])))
    else:
        asyncio.run(under_load(Path(sys.argv[1]), cast("Durability", sys.argv[2])))
