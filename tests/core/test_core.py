"""The core as one: a damaged journal never stops it, and what was stored is never lost without a word."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.core import writer
from gateway.core.core import open_registry
from gateway.core.errors import JournalDamaged
from tests.core.house import LINK, changes, living
from tests.support.clock import FakeClock
from tests.support.wait import until


async def lived(path: Path, rows: int = 400) -> str:
    """A life with changes, ended cleanly; its epoch."""
    async with living(path) as core:
        for number in range(rows):
            core.intake(LINK).report("attic", {"temperature": number})
        return core.journal.epoch


def noise(path: Path, start: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(size))


HARM: dict[str, Callable[[Path], object]] = {
    "header": lambda path: noise(path, 0, 100),
    "pages in the middle": lambda path: noise(path, 4096, 40_000),
    "whole": lambda path: noise(path, 0, path.stat().st_size),
    "cut": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "folder": lambda path: _folder(path),
}


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", HARM)
async def test_a_damaged_journal_is_set_aside_at_the_start_and_that_is_said(tmp_path: Path, harm: str) -> None:
    """New epoch, a `journal.gap` as its first row, an alert, and the old bytes under a dated name."""
    epoch = await lived(tmp_path)
    path = tmp_path / "journal.db"
    HARM[harm](path)
    bytes_before = path.read_bytes() if path.is_file() else b""
    async with living(tmp_path) as core:
        assert core.journal.epoch != epoch
        found = await changes(core)
        assert (found[0].seq, found[0].type, found[0].first, found[0].last) == (1, "journal.gap", 0, 0)
        assert "journal.damaged-2026" in str(found[0].reason)
        assert [(alert.kind, alert.severity) for alert in core.alerts.active()] == [("journal-damaged", "error")]
        core.intake(LINK).report("attic", {"t": 1})
        await core.store.flush()
        assert core.state.things["attic"].properties["t"].quality == "good"
    (aside,) = tmp_path.glob("journal.damaged-*.db")
    assert (aside.read_bytes() if aside.is_file() else b"") == bytes_before
    async with living(tmp_path) as core:
        assert "attic" in core.state.things
        assert not [change for change in await changes(core, 1) if change.type == "journal.gap"]


async def test_a_journal_damaged_while_running_ends_that_life_and_the_next_goes_on(tmp_path: Path) -> None:
    """`damaged` fires, closing does not hang, and the next core begins anew with a gap."""
    with patch.object(writer, "_LOOK_EVERY_S", 0.0):
        async with living(tmp_path) as core:
            epoch = core.journal.epoch
            for number in range(100):
                core.intake(LINK).report("attic", {"temperature": number})
            await core.store.flush()
            noise(core.path, 0, core.path.stat().st_size)
            core.journal.append("event.raised", name="x", urgent=True)
            await until(core.damaged.done, what="the damage is noticed")
            assert isinstance(core.damaged.result(), JournalDamaged)
            waiting = asyncio.create_task(core.journal.room())
            waiting.cancel()
    async with living(tmp_path, damaged=core.damaged.result()) as again:
        assert again.journal.epoch != epoch
        assert (await changes(again))[0].type == "journal.gap"
        assert len(list(tmp_path.glob("journal.damaged-*.db"))) == 1


async def test_nonsense_in_whole_tables_is_damage_too(tmp_path: Path) -> None:
    """SQLite finds nothing wrong with it, but we do."""
    for number, sql in enumerate(
        (
            "UPDATE meta SET value = 'many' WHERE key = 'reserved'",
            "DELETE FROM meta WHERE key = 'epoch'",
            "UPDATE changes SET body = 'noise' WHERE seq = (SELECT max(seq) FROM changes)",
            "UPDATE changes SET body = 7 WHERE seq = (SELECT max(seq) FROM changes)",
            "UPDATE cursors SET seq = 5",
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        epoch = await lived(folder, 5)
        async with living(folder) as core:
            core.snapshots.save = lambda: None  # type: ignore[method-assign]
            core.store.add_statements((sql, ()))
            core.journal.close = core.store.close  # type: ignore[method-assign]
        async with living(folder) as core:
            assert (core.journal.epoch == epoch) == ("cursors" in sql), sql


async def test_the_end_does_not_wait_for_a_full_disk(tmp_path: Path) -> None:
    """The end is not clean then, and the next start says so."""
    async with living(tmp_path) as core:
        await core.store.execute("PRAGMA max_page_count=1")
        core.journal.append("event.raised", name="x", value="y" * 100_000)
        await until(lambda: core.store.problem)
    async with living(tmp_path) as core:
        assert not core.journal.was_clean
        assert (await changes(core))[0].type == "journal.gap"


async def test_an_unclean_end_says_what_cannot_be_known(tmp_path: Path) -> None:
    await lived(tmp_path, 3)
    async with living(tmp_path) as core:
        core.journal.append("event.raised", name="x")
        await core.store.flush()
        core.journal.close = core.store.close  # type: ignore[method-assign]
        core.snapshots.save = lambda: None  # type: ignore[method-assign]
        last = core.journal.head
    async with living(tmp_path) as core:
        gap = (await changes(core, last))[0]
        assert (gap.type, gap.first) == ("journal.gap", last + 1)
        assert gap.last == gap.seq - 1
        assert "no change that a reader saw is missing" in str(gap.reason)


async def test_a_wrong_clock_at_the_start(tmp_path: Path) -> None:
    """It reads less than the newest row of an earlier boot; a second start in the same boot still knows that."""
    async with living(tmp_path, clock=FakeClock(boot="first")) as core:
        core.journal.append("event.raised", name="x")
    for _ in range(2):
        clock = FakeClock(boot="second", synchronised=False)
        clock.step(-3600)
        async with living(tmp_path, clock=clock) as core:
            assert not clock.is_trusted
            row = core.journal.append("event.raised", name="x")
            assert row.boot == "second"
            clock.step(7200)
            assert clock.condition == "unsure"


async def test_a_damaged_registry_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "registry.db"
    for number in (1, 2):
        if number == 1:
            path.write_bytes(os.urandom(8192))
        else:
            path.mkdir()
        registry = open_registry(tmp_path, FakeClock())
        assert registry.tokens() == []
        await registry.create_token("a", ["read"])
        registry.close()
        assert len(list(tmp_path.glob("registry.damaged-*.db"))) == number
        path.unlink()
    assert "make the tokens and subscriptions anew" in caplog.text
