"""What the gateway costs while it lives: memory, descriptors, threads, tasks, how late its loop is; and whether that is flat."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

EVERY_S: Final = 2.0
JUDGED_FROM_S: Final = 60.0
"""A calm life shorter than this says nothing."""

ALLOWED: Final = {"rss_kb": 6144.0, "descriptors": 12.0, "threads": 6.0, "tasks": 15.0, "lag_ms": 100.0}
"""How much higher the median of the last third of the calm life may be than that of its second third; the first third is for warming up,
in which the ring of recent changes fills and caches grow to their size. A leak of one descriptor or task a minute passes these in ten.
Threads may be as many more as the pool of `asyncio.to_thread` has on a small machine, which grows when it is needed, and stays."""

_METRIC = re.compile(r"^hearthgate_(loop_lag_seconds|tasks) ([0-9.e+-]+)$", re.MULTILINE)
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Sample(msgspec.Struct):
    """One look at one life; what could not be had is None."""

    life: int
    at_s: float
    rss_kb: int
    descriptors: int
    threads: int
    tasks: float | None = None
    lag_ms: float | None = None


class Vitals:
    """Looks every two seconds, and keeps the calm life's samples and the worst of all.

    Args:
        path: where each sample is written.
        metrics: asks the gateway for its metrics; empty while it does not answer.
    """

    def __init__(self, path: Path, metrics: Callable[[], Awaitable[str]]) -> None:
        self.worst: dict[str, float] = {}
        self.calm: list[Sample] = []
        self._file = path.open("wb", buffering=0)
        self._metrics = metrics
        self._pid: int | None = None
        self._life = 0
        self._is_calm = False
        self._begun_s = 0.0

    def begin(self, pid: int, *, is_calm: bool = False) -> None:
        """A life has begun."""
        self._pid, self._is_calm, self._begun_s = pid, is_calm, time.monotonic()
        self._life += 1

    def end(self) -> None:
        """It is about to end."""
        self._pid = None

    async def run(self) -> None:
        """Looks until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                if self._pid is not None:
                    await self._look(self._pid)
        finally:
            self._file.close()

    async def _look(self, pid: int) -> None:
        try:
            sample = _look_at(pid, self._life, time.monotonic() - self._begun_s)
        except OSError:
            return
        told = dict(_METRIC.findall(await self._metrics()))
        if pid != self._pid:
            return
        if told:
            sample.tasks = float(told["tasks"])
            sample.lag_ms = 1000 * float(told["loop_lag_seconds"])
        self._file.write(msgspec.json.encode(sample) + b"\n")
        for name in ALLOWED:
            value = getattr(sample, name)
            if value is not None:
                self.worst[name] = max(self.worst.get(name, 0.0), value)
        if self._is_calm:
            self.calm.append(sample)


class Slope(msgspec.Struct):
    """One figure over the calm life: medians of its second and last third."""

    name: str
    before: float
    after: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        return self.after - self.before <= self.allowed


def slopes(calm: list[Sample]) -> list[Slope]:
    """How each figure went; empty where the calm life was too short to say."""
    if not calm or calm[-1].at_s - calm[0].at_s < JUDGED_FROM_S:
        return []
    third = len(calm) // 3
    found = []
    for name, allowed in ALLOWED.items():
        before = [getattr(one, name) for one in calm[third : 2 * third] if getattr(one, name) is not None]
        after = [getattr(one, name) for one in calm[2 * third :] if getattr(one, name) is not None]
        if before and after:
            found.append(Slope(name, statistics.median(before), statistics.median(after), allowed))
    return found


def resident_kb(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KB


def _look_at(pid: int, life: int, at_s: float) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    threads = int(status.partition("Threads:")[2].split()[0])
    return Sample(life, round(at_s, 2), resident_kb(pid), len(os.listdir(f"/proc/{pid}/fd")), threads)
