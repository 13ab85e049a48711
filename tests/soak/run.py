"""One soak from beginning to end: the house opened, the plan played, everything healed and drained, judged and told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tests.soak import plan as plans
from tests.soak.ending import Shown, compare, drain
from tests.soak.faults import MENU, Faults
from tests.soak.house import House, opened
from tests.soak.judge import Durability
from tests.soak.lives import Lives
from tests.soak.phones import Weather
from tests.soak.plan import LifeOf
from tests.soak.tally import Tally, tell
from tests.soak.vitals import Vitals, resident_kb, slopes

PROGRESS_S: Final = 10.0
_NOTICED_S: Final = 5.0
_EXCUSED: Final = ("disk", "reload")
"""With a full disk, or a file that is just being written, the gateway may give up; it is started again, as a service manager would."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    `lives` stands in for those drawn from the seed.
    """

    seed: int
    duration_s: float
    kinds: frozenset[str]
    durability: Durability = "power"
    folder: Path | None = None
    lives: list[LifeOf] | None = None


async def soak(wish: Wish, say: Callable[[str], None]) -> tuple[Tally, Path]:
    """Runs it; returns the tally and the folder with all the evidence, which is the caller's to remove."""
    if wish.folder is not None:
        wish.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="hearthgate-soak-", dir=wish.folder))
    evidence = folder / "evidence"
    evidence.mkdir()
    house = House(folder, evidence, wish.seed, wish.durability, kinds=wish.kinds)
    kinds = wish.kinds - set(house.absent)
    plan = plans.draw(wish.seed, wish.duration_s, kinds, MENU)
    if wish.lives:
        plan = msgspec.structs.replace(plan, lives=wish.lives)
    (evidence / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    for kind, why in house.absent.items():
        say(f"absent: {kind}: {why}")
    try:
        tally = await _Soak(house, plan, say).run()
    finally:
        house.discard()
    tally.kinds, tally.absent = sorted(kinds), house.absent
    (evidence / "tally.json").write_bytes(msgspec.json.format(msgspec.json.encode(tally)))
    return tally, folder


class _Soak:
    def __init__(self, house: House, plan: plans.Plan, say: Callable[[str], None]) -> None:
        self._house, self._plan, self._say = house, plan, say
        self._faults = Faults(house)
        self._vitals = Vitals(house.evidence / "vitals.jsonl", self._metrics)
        self._lives = Lives(house, self._vitals, self._is_excused)
        self._begun_s = time.monotonic()
        self._own_kb = 0

    async def run(self) -> Tally:
        house = self._house
        async with opened(house):
            watching = [asyncio.create_task(self._vitals.run()), asyncio.create_task(self._report())]
            try:
                await self._play()
                shown = await self._heal()
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
        house.check()
        self._keep_evidence()
        judgement = await asyncio.to_thread(compare, house, shown, self._lives.unclean)
        for violation in self._lives.violations:
            judgement.verdict.blame(*violation)
        for slope in slopes(self._vitals.calm):
            if not slope.is_flat:
                judgement.verdict.blame("not flat", slope.name, f"from {slope.before:g} to {slope.after:g}")
        return tell(house, self._plan, self._lives, self._faults.count, self._vitals, judgement, self._own_kb)

    async def _play(self) -> None:
        playing = asyncio.create_task(self._faults.run(self._plan.faults), name="soak faults")
        living = asyncio.create_task(self._lives.run(self._plan.lives, self._plan.duration_s), name="soak lives")
        try:
            done, _ = await asyncio.wait({playing, living}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await living
        finally:
            for task in (playing, living):
                task.cancel()
            await asyncio.gather(playing, living, return_exceptions=True)

    async def _heal(self) -> Shown:
        """The faults are mended; what is left is to be as if nothing had been."""
        house = self._house
        self._say("healed: everybody drains")
        if not house.gateway.is_running:
            await self._lives.last()
        await house.hush()
        shown = await drain(house)
        if await self._lives.finish() != 0:
            self._say("the last end was not clean")
        return shown

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            self._house.check()
            self._own_kb = max(self._own_kb, resident_kb(os.getpid()))
            self._say(self._progress())

    def _progress(self) -> str:
        house, lives = self._house, self._lives
        newest = max(reader.record.newest for reader in house.readers.values())
        behind = {
            name: newest - at
            for name, at in (
                *((name, reader.position) for name, reader in house.readers.items()),
                ("mqtt", house.tap_record.newest),
                *((name, one.record.newest) for name, one in house.receivers.items()),
            )
        }
        worst = max(behind, key=lambda name: behind[name])
        return (
            f"{time.monotonic() - self._begun_s:6.0f} s  kills {lives.count['kills']}  starts {lives.count['starts']}  "
            f"faults {self._faults.count.total()}  seen {house.readers['feed'].record.count} to {newest}  "
            f"furthest behind {worst} by {behind[worst]}  commands heard {len(house.lines.ledger.heard)}  "
            f"now {', '.join(sorted(self._faults.now)) or 'nothing'}{'' if house.is_up else ', gateway down'}"
        )

    def _is_excused(self) -> bool:
        """Asked about an end that was not as it should be: it may be noticed a little after its cause was mended."""
        since_s = time.monotonic() - _NOTICED_S
        return any(word.startswith(_EXCUSED) for word in self._faults.now) or any(
            self._faults.mended_s.get(kind, since_s) > since_s for kind in _EXCUSED
        )

    async def _metrics(self) -> str:
        with contextlib.suppress(*Weather):
            async with self._house.session.get(f"{self._house.gateway.base}/metrics") as answer:
                return await answer.text()
        return ""

    def _keep_evidence(self) -> None:
        """The journal and the logs, beside what the readers saw; the disk that they are on may go away."""
        house = self._house
        for path in house.gateway.state_dir.glob("journal*"):
            shutil.copy2(path, house.evidence / path.name)
        for path, name in (
            (house.gateway.folder / "log", "gateway.log"),
            (house.folder / "broker" / "log", "broker.log"),
        ):
            if path.exists():
                shutil.copy2(path, house.evidence / name)
