"""What a driver must not forget."""

from __future__ import annotations

from pathlib import Path

from tests.core.house import LINK, living


async def test_what_was_put_is_there_after_a_restart_each_link_its_own(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        one, other = core.intake(LINK).memory, core.intake("other").memory
        one.put("ids", {"5": "attic"})
        one.put("pulses", 41)
        one.put("pulses", 42)
        one.put("gone", 1)
        one.put("gone", None)
        assert other.get("ids") is None
        assert core.intake(LINK).memory.get("pulses") == 42, "a new session of the same link finds it"
    async with living(tmp_path) as core:
        memory = core.intake(LINK).memory
        assert (memory.get("ids"), memory.get("pulses"), memory.get("gone", 0)) == ({"5": "attic"}, 42, 0)


async def test_what_changes_often_is_written_once(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        memory = core.intake(LINK).memory
        await core.store.flush()
        before = core.store.commits
        for count in range(1000):
            memory.put("pulses", count)
        await core.store.flush()
        assert core.store.commits == before + 1
        assert core.store.query_now("SELECT body FROM snapshots WHERE name = 'link/wire'") == [(b'{"pulses":999}',)]


async def test_what_must_not_be_lost_can_be_waited_for(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        memory = core.intake(LINK).memory
        memory.put("base", 4711.5)
        await memory.kept()
        assert core.store.query_now("SELECT body FROM snapshots WHERE name = 'link/wire'") == [(b'{"base":4711.5}',)]
