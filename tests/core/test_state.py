"""What readers see: finished bytes that change exactly when something has."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import msgspec

from tests.core.house import HALL, LINK, PLAIN, living, rules


async def test_bodies_are_the_same_bytes_until_something_changes(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(**{"*": PLAIN})) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": 1.5, "door": True})
        intake.report("cellar", {"t": 2})
        await core.store.flush()
        attic, state = core.state.things["attic"], core.state
        record = attic.properties["t"]

        def bodies() -> list[bytes]:
            return [attic.body(), record.body(), record.value_body(), state.snapshot_body(1)]

        before = bodies()
        core.journal.append("event.raised", name="elsewhere")
        intake.report("attic", {"t": 1.5})
        await core.store.flush()
        assert all(one is two for one, two in zip(before, bodies(), strict=True))
        intake.report("attic", {"t": 2.5})
        await core.store.flush()
        assert record.value_body() == b"2.5"
        assert msgspec.json.decode(record.body())["value"] == 2.5
        assert msgspec.json.decode(attic.body())["properties"]["t"]["seq"] == record.seq == core.journal.head
        assert attic.properties["door"].seq < record.seq


async def test_snapshot_and_feed_join(tmp_path: Path) -> None:
    """What comes after the snapshot's cursor is what the snapshot does not show yet; the cursor is never gone."""
    async with living(tmp_path) as core:
        core.intake(LINK).report("attic", {"t": 1})
        for _ in range(20):
            core.journal.append("event.raised", name="x")
        await core.store.flush()
        seq = core.state.seq
        shown = msgspec.json.decode(core.state.snapshot_body(core.journal.floor))
        assert shown["cursor"] == core.journal.cursor(seq)
        assert [one["id"] for one in shown["things"]] == ["attic"]
        core.journal.forget_until(seq + 5)
        cursor = msgspec.json.decode(core.state.snapshot_body(core.journal.floor))["cursor"]
        assert core.journal.seq_of(cursor) == seq + 5


async def test_the_bell_of_a_thing_rings_for_it_alone_and_costs_nothing_when_nobody_listens(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        intake, state = core.intake(LINK), core.state
        attic, cellar = state.moved("attic"), state.moved("cellar")
        assert state.moved("attic") is attic
        intake.report("attic", {"t": 1})
        await asyncio.wait_for(attic.wait(), 20)
        assert not cellar.is_set()
        assert state.moved("attic") is not attic
        for number in range(1000):
            state.moved(f"nobody{number}")
        del attic, cellar
        gc.collect()
        assert not state._bells


async def test_a_target_is_shown_beside_the_value_until_it_is_settled(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        intake = core.intake(LINK)
        intake.describe("hall", HALL)
        intake.report("hall", {"setpoint": 20.0})
        await core.store.flush()
        await core.commands.submit("hall", "setpoint", 22, cause="me")
        shown = msgspec.json.decode(core.state.things["hall"].properties["setpoint"].body())
        assert (shown["value"], shown["target"], shown["min"], shown["max"], shown["step"]) == (
            20.0,
            22.0,
            5.0,
            30.0,
            0.5,
        )
        assert core.state.things["hall"].seq == shown["seq"] == core.journal.head


async def test_listeners_hear_what_the_state_already_shows(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        seen: list[object] = []
        core.journal.on_change(
            lambda change, entry: seen.append(
                core.state.things["attic"].properties["t"].value if change.name == "t" else None
            )
        )
        core.intake(LINK).report("attic", {"t": 1})
        await core.store.flush()
        assert seen == [None, None, 1]
