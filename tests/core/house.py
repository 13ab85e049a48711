"""A core for a test, with a clock that the test steers, and small ways to look at what it did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import UNSET

from gateway.core.change import Change, decode
from gateway.core.clock import Clock
from gateway.core.core import Core, Settings, open_core
from gateway.core.errors import JournalDamaged
from gateway.core.things import Description, PropertyDescription, PropertyRule, RuleBook, ThingRule
from tests.support.clock import FakeClock

LINK = "wire"
AT_ONCE = Settings(commit_gap_s=0.0)

HALL = Description(
    "TH-2",
    "1.4.0",
    {
        "temperature": PropertyDescription(type="number", unit="°C", class_="temperature"),
        "setpoint": PropertyDescription(type="number", unit="°C", writable=True, min=5, max=30, step=0.5),
        "mode": PropertyDescription(type="enum", values=("off", "heat"), writable=True),
        "boost": PropertyDescription(type="boolean", writable=True),
    },
)


def rules(**properties: PropertyRule) -> RuleBook:
    """The same rules for every thing."""
    return RuleBook({"*": ThingRule(properties=properties)})


PLAIN = PropertyRule(deadband=0, min_interval_s=0, heartbeat_s=0, stale_after_s=0)
"""Every reading that differs is a change, and nothing else is."""


@asynccontextmanager
async def living(
    path: Path,
    *,
    clock: Clock | None = None,
    settings: Settings = AT_ONCE,
    book: RuleBook | None = None,
    links: Iterable[str] = (LINK,),
    damaged: JournalDamaged | None = None,
) -> AsyncIterator[Core]:
    """A started core, closed at the end."""
    core = open_core(path, settings, book or RuleBook(), clock or FakeClock(), damaged=damaged)
    core.start(links)
    try:
        yield core
    finally:
        await core.close()


async def changes(core: Core, after: int | None = None) -> list[Change]:
    """All that readers may see after `after` (everything by default), once what was appended is committed."""
    await core.store.flush()
    journal = core.journal
    at = journal.floor - 1 if after is None else after
    found: list[Change] = []
    while entries := await journal.read(at, 500):
        found += [decode(entry.body) for entry in entries]
        at = entries[-1].seq
    return found


async def told(core: Core, after: int | None = None) -> list[tuple[object, ...]]:
    """The same as (type, thing, name, value, quality), as far as each says something."""
    return [
        tuple(part for part in (one.type, one.thing, one.name, one.value, one.quality) if part is not UNSET)
        for one in await changes(core, after)
    ]


def sums(core: Core) -> Mapping[str, int]:
    """Readings by outcome, over all links."""
    total: dict[str, int] = {}
    for (_, outcome), count in core.sources.readings.items():
        total[outcome] = total.get(outcome, 0) + count
    return total
