"""Writes the journal of a household: twenty things of five properties each, as they report over the days.

Usage: `python -m tests.bench.load.household STATE_DIR ROWS`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.core.clock import Clock
from gateway.core.core import Settings, open_core
from gateway.core.things import PropertyRule, RuleBook, ThingRule

THINGS = 20
NAMES = ("temperature", "humidity", "battery", "illuminance", "power")
_PLAIN = PropertyRule(deadband=0, min_interval_s=0, heartbeat_s=0, stale_after_s=0)


async def write(state_dir: Path, rows: int) -> None:
    """Every reading is another value, so that each is a row."""
    book = RuleBook({"*": ThingRule(properties={"*": _PLAIN})})
    core = open_core(state_dir, Settings(commit_gap_s=0), book, Clock())
    core.start(["wire"])
    intake = core.intake("wire")
    intake.link_up()
    for turn in range(rows // (THINGS * len(NAMES)) + 1):
        for thing in range(THINGS):
            intake.report(f"room-{thing}", {name: (turn * 7 + thing + at) % 50 + 0.5 for at, name in enumerate(NAMES)})
        await intake.room()
        await asyncio.sleep(0)
    await core.close()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
