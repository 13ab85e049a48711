"""`kill -9` at any moment: what a reader saw is kept, no seq is used twice, and the next start says what it cannot know."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.change import decode
from gateway.core.core import Settings
from gateway.core.store import Durability
from tests.core.house import LINK, changes, living


def run_child(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.core.child", *map(str, args)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )


def kill_after(child: subprocess.Popen[str], lines: int) -> list[str]:
    """What it told; it is killed after so many lines, in the middle of its work."""
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    return [line.rstrip("\n") for line in told if line.endswith("\n")]


@pytest.mark.parametrize("durability", ["power", "process", "card"])
async def test_what_a_reader_saw_is_kept_and_no_seq_is_used_twice(tmp_path: Path, durability: Durability) -> None:
    """Two lives, killed in the middle of appending. With `card` the last changes may be gone, but their seqs are never used again."""
    seen: dict[int, str] = {}
    for lines in (3000, 500):
        told = await asyncio.to_thread(kill_after, run_child(tmp_path, durability), lines)
        for line in told:
            seq, _, body = line.partition(" ")
            assert int(seq) not in seen, "one seq for two changes"
            seen[int(seq)] = body
    async with living(tmp_path, settings=Settings(durability=durability, commit_gap_s=0.0), links=()) as core:
        kept = {change.seq: change for change in await changes(core)}
        bodies = {entry.seq: entry.body.decode() for entry in await core.journal.read(0, 100_000)}
    gaps = [change for change in kept.values() if change.type == "journal.gap"]
    assert len(gaps) == 2
    for gap in gaps:
        assert isinstance(gap.first, int)
        assert isinstance(gap.last, int)
        assert gap.seq == gap.last + 1
        assert gap.first == 1 or gap.first - 1 in kept, "it begins right behind the last change that is there"
        assert not [seq for seq in kept if gap.first <= seq <= gap.last]
    lost = set(seen) - set(kept)
    if durability != "card":
        assert not lost
    assert all(any(gap.first <= seq <= gap.last for gap in gaps) for seq in lost), "lost, and not told"  # type: ignore[operator]
    assert {seq: bodies[seq] for seq in seen if seq not in lost} == {seq: seen[seq] for seq in seen if seq not in lost}
    assert sorted(kept) == sorted(set(kept))


async def test_a_reader_from_inside_the_lost_block_gets_the_gap_first(tmp_path: Path) -> None:
    """A cursor that points at a change which is gone resumes at the gap row that says so."""
    await asyncio.to_thread(kill_after, run_child(tmp_path, "card"), 200)
    async with living(tmp_path, links=()) as core:
        await core.store.flush()
        gap = next(change for change in await changes(core) if change.type == "journal.gap")
        assert isinstance(gap.first, int)
        for after in (gap.first - 1, gap.first, gap.seq - 1):
            assert decode((await core.journal.read(after, 1))[0].body).seq == gap.seq


async def test_a_command_that_was_sent_has_an_unknown_outcome_and_is_never_sent_again(tmp_path: Path) -> None:
    """`sent` was in the file before the device got a byte, so the next start knows of it."""
    told = await asyncio.to_thread(kill_after, run_child(tmp_path, "commands"), 2)
    got = {line.split()[1] for line in told}
    assert len(got) == 1
    (id,) = got
    async with living(tmp_path) as core:
        sent_again: list[str] = []

        async def send(command: object) -> None:
            sent_again.append(str(command))

        serving = asyncio.create_task(core.commands.serve(LINK, send))
        states = [change.type for change in await changes(core) if change.command == id]
        assert states == ["command.accepted", "command.sent", "command.failed"]
        assert core.commands.get(id).reason == "outcome-unknown"
        assert core.state.things["hall"].properties["setpoint"].target is None
        core.intake(LINK).report("hall", {"setpoint": 20.0})
        again = await core.commands.submit("hall", "setpoint", 21.5, cause="test", key="once")
        assert again.id == id, "the same key, and the same command, though it failed"
        serving.cancel()
        assert not sent_again
