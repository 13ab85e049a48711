"""A journal with a backlog, made before the gateway starts: changes as a thermometer writes them.

Usage: `python -m tests.bench.load.changes STATE_DIR COUNT FILE`; FILE gets the changes, one a line, as readers will see them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.core.change import PROPERTY_CHANGED, encode
from gateway.core.clock import Clock
from gateway.core.core import Settings, open_core
from gateway.core.things import RuleBook


async def main(state_dir: Path, count: int, file: Path) -> None:
    core = open_core(state_dir, Settings(durability="process", commit_gap_s=0.0), RuleBook(), Clock())
    core.start([])
    journal = core.journal
    with file.open("wb") as lines:
        for number in range(count):
            change = journal.append(
                PROPERTY_CHANGED,
                thing=f"room{number % 20}",
                name="temperature",
                value=15 + number % 100 / 10,
                unit="°C",
                quality="good",
            )
            lines.write(encode(change) + b"\n")
            if journal.is_full:
                await journal.room()
    await core.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
