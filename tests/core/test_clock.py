"""Time: how far the wall clock can be trusted, and that nobody's setting of it passes unnoticed."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.clock import BUILT_S, Clock, format_time, parse_time
from tests.support.clock import BEGIN_S, FakeClock


def test_the_three_conditions() -> None:
    """Wrong only before the release or before an earlier boot; merely not synchronised is unsure."""
    assert FakeClock(synchronised=True).condition == "set"
    assert FakeClock(synchronised=False).condition == "unsure"
    assert FakeClock(wall_s=0.0, synchronised=False).condition == "wrong"
    assert FakeClock(wall_s=BUILT_S - 1, synchronised=True).condition == "wrong"
    later = FakeClock(synchronised=False)
    later.not_before(BEGIN_S + 100)
    assert not later.is_trusted
    later.advance(101)
    assert later.condition == "unsure"


def test_only_a_wrong_clock_is_not_trusted_unless_its_owner_says_so() -> None:
    assert not FakeClock(wall_s=0.0, synchronised=False).is_trusted
    assert FakeClock(synchronised=False).is_trusted
    assert FakeClock(wall_s=0.0, synchronised=False, trust=True).is_trusted


def test_a_synchronised_clock_is_right_although_an_earlier_boot_was_ahead() -> None:
    clock = FakeClock(synchronised=True)
    clock.not_before(BEGIN_S + 86400)
    assert clock.condition == "set"


def test_a_step_is_told_once_and_slewing_never() -> None:
    clock = FakeClock()
    clock.advance(3600)
    assert clock.take_step() is None
    clock.step(-7200.5)
    assert clock.take_step() == pytest.approx(-7200.5)
    assert clock.take_step() is None
    clock.step(0.4)
    assert clock.take_step() is None
    clock.step(0.7)
    assert clock.take_step() == pytest.approx(1.1)


def test_timers_follow_the_clock() -> None:
    clock = FakeClock()
    told: list[str] = []
    clock.call_at(1010.0, lambda: told.append("second"))
    clock.call_at(1005.0, lambda: told.append("first"))
    clock.call_at(1006.0, lambda: told.append("never")).cancel()
    clock.advance(7)
    assert told == ["first"]
    clock.advance(3)
    assert told == ["first", "second"]


async def test_the_real_clock_calls_back_in_the_loop() -> None:
    import asyncio

    clock, called = Clock(), asyncio.Event()
    clock.call_at(clock.mono_s() - 1, called.set)
    await asyncio.wait_for(called.wait(), 20)


def test_times_as_text() -> None:
    assert format_time(BEGIN_S + 0.1204) == "2026-11-24T06:00:00.120Z"
    assert format_time(-5) == "1970-01-01T00:00:00.000Z"
    assert format_time(1e15) == "9999-12-31T23:59:59.000Z"
    assert parse_time("2026-11-24T06:00:00.120Z") == pytest.approx(BEGIN_S + 0.12)
    assert parse_time("2026-11-24T07:00:00.120+01:00") == pytest.approx(BEGIN_S + 0.12)
    for text in ("2026-11-24T06:00:00", "yesterday", ""):
        with pytest.raises(ValueError, match=r".*"):
            parse_time(text)


_STEPPED = """
import asyncio, struct, sys
from pathlib import Path
from gateway.core.change import decode
from gateway.core.clock import Clock
from gateway.core.core import Settings, open_core
from gateway.core.things import RuleBook

def jump(seconds):
    with open(sys.argv[1], "r+b") as file:
        file.write(struct.pack("q", int(seconds * 1e9)))

async def main():
    jump(-10**9)                      # decades ago: as on a Pi without a battery clock
    core = open_core(Path(sys.argv[2]), Settings(commit_gap_s=0.0), RuleBook(), Clock())
    core.start([])
    said = [core.clock.condition]
    core.journal.append("event.raised", thing="t", name="n")
    jump(0)
    said.append(core.clock.condition)
    core.journal.append("event.raised", thing="t", name="n")
    await core.store.flush()
    rows = [decode(entry.body) for entry in await core.journal.read(0, 10)]
    print(said, [(row.type, row.offset_ms, isinstance(row.boot, str), row.time[:2]) for row in rows])
    await core.close()

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, to move the wall clock of one process")
def test_a_stepped_wall_clock_of_a_real_process_is_journaled(tmp_path: Path) -> None:
    """Begun with a wrong clock, which is then set: the row before carries boot and monotonic time, `clock.set` the offset."""
    library, offset = tmp_path / "wallclock.so", tmp_path / "offset"
    source = Path(__file__).parents[1] / "support" / "wallclock.c"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    offset.write_bytes(struct.pack("q", 0))
    environment = {**os.environ, "LD_PRELOAD": str(library), "WALLCLOCK_OFFSET": str(offset)}
    done = subprocess.run(
        [sys.executable, "-c", _STEPPED, offset, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    conditions, _, rows = done.stdout.partition("] [")
    assert conditions.startswith("['wrong', ")
    assert "'wrong'" not in conditions.removeprefix("['wrong'")
    first, clock_set, last = rows.rstrip("]\n").split("), (")
    assert "'event.raised', UNSET, True, '19'" in first
    assert "'clock.set', 1000000000" in clock_set
    assert "True, '20'" in clock_set
    assert "'20'" in last
