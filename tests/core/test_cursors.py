"""Cursors of durable readers: never ahead of what is written, and at most a little behind."""

from __future__ import annotations

import time
from pathlib import Path
from unittest.mock import patch

from gateway.core import store as store_file
from gateway.core.core import Core
from tests.core.house import living
from tests.support.wait import until


async def on_disk(core: Core) -> dict[str, int]:
    rows = await core.store.query("SELECT name, seq FROM cursors")
    return {str(name): int(seq) for name, seq in rows}


async def test_a_moved_cursor_is_written_with_a_full_commit_and_not_with_a_lone_change(tmp_path: Path) -> None:
    """It causes no commit, makes that of a lone change no larger, and only its newest place is written."""
    async with living(tmp_path) as core:
        await core.store.flush()
        commits = core.store.commits
        for seq in range(1, 50):
            core.cursors.move("mqtt", seq)
        assert core.cursors.get("mqtt") == 49
        assert await on_disk(core) == {}
        assert core.store.commits == commits
        change = core.journal.append("event.raised", name="x")
        await core.journal.committed(change.seq)
        assert await on_disk(core) == {}
        for _ in range(store_file.FULL_ENOUGH_ROWS):
            change = core.journal.append("event.raised", name="x")
        await core.journal.committed(change.seq)
        assert await on_disk(core) == {"mqtt": 49}
        assert core.store.commits == commits + 2


async def test_lone_changes_put_a_moved_cursor_off_for_five_seconds_at_most(tmp_path: Path) -> None:
    with patch.object(store_file, "SOON_S", 0.1):
        async with living(tmp_path) as core:
            core.cursors.move("mqtt", 3)
            until_s = time.monotonic() + 20
            while await on_disk(core) == {}:
                assert time.monotonic() < until_s, "put off for ever"
                change = core.journal.append("event.raised", name="x")
                await core.journal.committed(change.seq)


async def test_what_is_removed_never_passes_a_cursor_on_disk(tmp_path: Path) -> None:
    """The floor goes down with the cursors that let it: else a crash in between would tell of a gap that nobody has."""
    async with living(tmp_path) as core:
        for _ in range(10):
            core.journal.append("event.raised", name="x")
        await core.store.flush()
        core.cursors.move("mqtt", core.journal.head)
        core.journal.forget_until(core.journal.head - 1)
        await core.store.flush()
        assert (await on_disk(core))["mqtt"] == core.journal.head


async def test_without_other_commits_it_is_written_within_five_seconds(tmp_path: Path) -> None:
    with patch.object(store_file, "SOON_S", 0.05):
        async with living(tmp_path) as core:
            await core.store.flush()
            commits = core.store.commits
            core.cursors.move("mqtt", 3)
            await until(lambda: core.store.commits > commits)
            assert await on_disk(core) == {"mqtt": 3}


async def test_cursors_survive_and_forgotten_ones_do_not(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        for name, seq in (("a", 5), ("b", 3), ("c", 9)):
            core.cursors.move(name, seq)
        await core.cursors.flush()
        assert core.cursors.lowest() == 3
        core.cursors.forget("b")
        core.cursors.move("a", 2)  # a replay
        core.cursors.forget("c")
        core.cursors.move("c", 4)
        assert core.cursors.lowest() == 2
    async with living(tmp_path) as core:
        assert (core.cursors.get("a"), core.cursors.get("b"), core.cursors.get("c")) == (2, None, 4)
