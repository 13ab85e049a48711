"""Cursors of durable readers: never ahead of what is written, and at most a little behind."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

from gateway.core import store as store_file
from gateway.core.core import Core
from tests.core.house import living
from tests.support.wait import until


async def on_disk(core: Core) -> dict[str, int]:
    rows = await core.store.query("SELECT name, seq FROM cursors")
    return {str(name): int(seq) for name, seq in rows}


async def test_a_moved_cursor_rides_on_the_next_commit(tmp_path: Path) -> None:
    """It causes none, and only its newest place is written."""
    async with living(tmp_path) as core:
        await core.store.flush()
        commits = core.store.commits
        for seq in range(1, 50):
            core.cursors.move("mqtt", seq)
        assert core.cursors.get("mqtt") == 49
        assert await on_disk(core) == {}
        assert core.store.commits == commits
        core.journal.append("event.raised", name="x")
        await core.journal.committed(1)
        assert await on_disk(core) == {"mqtt": 49}
        assert core.store.commits == commits + 1


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
