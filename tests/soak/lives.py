"""The gateway's lives, one after the other: started, and ended as the plan has it; and what was not as it should be about their ends."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.soak.house import House
from tests.soak.judge import Violation
from tests.soak.plan import LifeOf
from tests.soak.vitals import Vitals

END_S: Final = 10.0
"""The contract says 5 s; the machine is busy with us as well, so that only twice as long is a broken promise."""
_IN_COMMIT_S: Final = 0.7
_LOOK_S: Final = 0.02
_AGAIN_S: Final = 0.3


class Lives:
    """Lives the gateway through a plan.

    Attributes:
        unclean: ends without a clean close; each may make a gap.
        ready_s: how long starts took, of those that got ready.
    """

    def __init__(self, house: House, vitals: Vitals, is_excused: Callable[[], bool]) -> None:
        self.count: Counter[str] = Counter()
        self.unclean = 0
        self.ready_s: list[float] = []
        self.slowest_end_s = 0.0
        self.violations: list[Violation] = []
        self.now: LifeOf | None = None
        self._house, self._vitals, self._is_excused = house, vitals, is_excused

    async def run(self, lives: list[LifeOf], duration_s: float) -> None:
        """Returns after `duration_s`, with the gateway ended or not."""
        end_s = time.monotonic() + duration_s
        for life in itertools.chain(lives, _drawn_again(lives)):
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return
            await self._live(life, left_s)

    async def last(self) -> None:
        """Starts it once more, to heal and to drain."""
        await self._begin()
        await self._until(60.0, lambda: self._house.is_up)
        if not self._house.is_up:
            self._blame("not ready", "healed, and not ready within 60 s")

    async def finish(self) -> int:
        """A clean end; returns its code."""
        return await self._stop()

    # -- private -----------------------------------------------------------------------------------------------------

    async def _live(self, life: LifeOf, left_s: float) -> None:
        self.now = life
        if not self._house.gateway.is_running:
            await self._begin(is_calm=life.is_calm)
        await self._until(min(life.length_s, left_s), lambda: False)
        if self._house.gateway.process.poll() is not None:
            await self._note_own_end()
        elif left_s > life.length_s and life.end != "none":
            await self._end(life)
            await asyncio.sleep(life.pause_s)

    async def _begin(self, *, is_calm: bool = False) -> None:
        house = self._house
        house.is_up = False
        await asyncio.to_thread(house.gateway.start, wait=False)
        self.count["starts"] += 1
        self._begun_s = time.monotonic()
        self._vitals.begin(house.gateway.process.pid, is_calm=is_calm)

    async def _until(self, for_s: float, is_over: Callable[[], bool]) -> None:
        """Waits, and notices when it gets ready, and when it ends by itself."""
        until_s = time.monotonic() + for_s
        while (left_s := until_s - time.monotonic()) > 0 and not is_over():
            if self._house.gateway.process.poll() is not None:
                return
            if not self._house.is_up and await self._house.is_ready():
                self._house.is_up = True
                self.ready_s.append(time.monotonic() - self._begun_s)
            await asyncio.sleep(min(left_s, _LOOK_S if not self._house.is_up else 5 * _LOOK_S))

    async def _end(self, life: LifeOf) -> None:
        if life.end == "term":
            await self._stop()
            return
        gateway, was_up = self._house.gateway, self._house.is_up
        self._house.is_up = False
        self._vitals.end()
        in_commit = life.end == "kill-in-commit" and await asyncio.to_thread(_wait_for_write, gateway.state_dir)
        await asyncio.to_thread(gateway.kill)
        self.unclean += 1
        self.count["kills"] += 1
        self.count["kills while it started"] += not was_up
        self.count["kills at a commit"] += in_commit

    async def _stop(self) -> int:
        was_up, self._house.is_up = self._house.is_up, False
        self._vitals.end()
        begun_s = time.monotonic()
        try:
            code = await asyncio.to_thread(self._house.gateway.stop, check=False)
        except AssertionError as error:
            self._blame("did not end", str(error)[:200])
            self.unclean += 1
            return -9
        took_s = time.monotonic() - begun_s
        self.slowest_end_s = max(self.slowest_end_s, took_s)
        self.count["SIGTERM"] += 1
        self.unclean += code != 0
        # Before it has asked for SIGTERM, that ends it as it ends any process.
        if code != 0 and (was_up or code != -15) and not self._is_excused():
            self._blame("not a clean end", f"code {code} after SIGTERM")
        if took_s > END_S and not self._is_excused():
            self._blame("slow end", f"{took_s:.1f} s after SIGTERM")
        return code

    async def _note_own_end(self) -> None:
        code = self._house.gateway.process.returncode
        self._house.is_up = False
        self._vitals.end()
        await asyncio.to_thread(self._house.gateway.stop, check=False)
        self.unclean += 1
        self.count["ended by itself"] += 1
        if not self._is_excused():
            self._blame("ended by itself", f"code {code} in life {self.count['starts']}: {self._last_words()}")
        await asyncio.sleep(_AGAIN_S)  # as a service manager would

    def _last_words(self) -> str:
        path = self._house.gateway.folder / "log"
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 600))
            return " | ".join(log.read().decode(errors="replace").splitlines()[-2:])

    def _blame(self, kind: str, what: str) -> None:
        self.violations.append(Violation(kind, "gateway", what))


def _wait_for_write(state_dir: Path) -> bool:
    """Returns right after something was written to the journal's log; False when nothing was for a while."""
    path, end_s = state_dir / "journal.db-wal", time.monotonic() + _IN_COMMIT_S
    before = _stamp(path)
    while time.monotonic() < end_s:
        if _stamp(path) != before:
            return True
        time.sleep(0.0005)
    return False


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _drawn_again(lives: list[LifeOf]) -> Iterator[LifeOf]:
    """The same ones again, but for the calm one: a machine that starts faster than planned needs more of them."""
    return itertools.cycle([life for life in lives if not life.is_calm])
