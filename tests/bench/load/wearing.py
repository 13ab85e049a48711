"""A gateway's core under a house of properties, in a process of its own, whose writing is measured.

    python -m tests.bench.load.wearing FOLDER OPTIONS      (OPTIONS: the JSON of `Wearing`)

Time runs `faster` times faster than in a house: readings, `commit_gap_ms`, the flush of `card` and the writing of cursors alike, so
that a commit holds what it holds in the house. Prints `ready` when the file has its usual size, then, for each line on stdin, the
JSON of a `Count`.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import msgspec

from gateway.core import dbfile, store
from gateway.core.change import PROPERTY_CHANGED
from gateway.core.clock import Clock
from gateway.core.core import Core, Settings, open_core
from gateway.core.store import Durability
from gateway.core.things import RuleBook
from gateway.outlets.reader import Reader

_MOST_ROWS = 60_000


class Wearing(msgspec.Struct, kw_only=True):
    """What is tried.

    `properties` report every `period_s`, `together` of them at a time (what a device says in one line); each device has a clock of its own,
    and every reading is a change. `outlets` readers keep a cursor on disk. Without warming up the figures say nothing.
    """

    durability: Durability
    period_s: float
    properties: int = 100
    together: int = 1
    outlets: int = 2
    gap_ms: float = 200
    flush_s: float = 30
    faster: float = 5
    page_bytes: int = 0
    checkpoint_bytes: int = 0
    is_warmed_up: bool = True


class Count(msgspec.Struct):
    """So far."""

    changes: int
    commits: int
    write_bytes: int


def written_bytes() -> int:
    """`write_bytes` of this process (proc(5))."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def append(core: Core, number: int, value: float) -> None:
    core.journal.append(
        PROPERTY_CHANGED, thing=f"room-{number}", name="temperature", value=value, unit="°C", quality="good"
    )


async def read(core: Core, name: str) -> None:
    reader = Reader(core.journal, after=core.journal.head)
    while True:
        batch = await reader.next(100)
        await asyncio.sleep(0.002)  # the other side acknowledges
        core.cursors.move(name, batch.after)


async def report(core: Core, wearing: Wearing, device: int) -> None:
    """One device: at its own moment in each period, give or take a tenth, as clocks drift and radios wait."""
    dice, period_s = random.Random(device), wearing.period_s / wearing.faster
    due_s = asyncio.get_running_loop().time() + dice.uniform(0, period_s)
    while True:
        await asyncio.sleep(due_s - asyncio.get_running_loop().time())
        due_s += period_s * dice.uniform(0.9, 1.1)
        for number in range(wearing.together):
            append(core, device * wearing.together + number, round(dice.uniform(18, 24), 1))


async def warm_up(core: Core) -> None:
    """Until the write-ahead log has been begun anew: from then on it is overwritten in place, and grows no more."""
    end = written_bytes() + 5 * dbfile.CHECKPOINT_BYTES // 2
    for number in range(_MOST_ROWS):
        append(core, number % 100, number / 10)
        if number % 4 == 0:
            await core.store.flush()
            if written_bytes() > end:
                break
    await core.store.flush()


async def run(folder: Path, wearing: Wearing) -> None:
    settings = Settings(
        durability=wearing.durability,
        commit_gap_s=wearing.gap_ms / 1000 / wearing.faster,
        flush_s=wearing.flush_s / wearing.faster,
    )
    core = open_core(folder, settings, RuleBook(), Clock())
    core.start([])
    if wearing.is_warmed_up:
        await warm_up(core)
    loop, stdin = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read(core, f"outlet-{number}")) for number in range(wearing.outlets)]
        tasks += [
            group.create_task(report(core, wearing, device)) for device in range(wearing.properties // wearing.together)
        ]
        print("ready", flush=True)
        while await stdin.readline():
            count = Count(core.journal.head, core.store.commits, written_bytes())
            print(msgspec.json.encode(count).decode(), flush=True)
        for task in tasks:
            task.cancel()
    await core.close()


if __name__ == "__main__":
    wearing = msgspec.json.decode(sys.argv[2], type=Wearing)
    dbfile.PAGE_BYTES = wearing.page_bytes or dbfile.PAGE_BYTES
    dbfile.CHECKPOINT_BYTES = wearing.checkpoint_bytes or dbfile.CHECKPOINT_BYTES
    store.SOON_S /= wearing.faster
    asyncio.run(run(Path(sys.argv[1]), wearing))
