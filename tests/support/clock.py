"""A clock that a test steers: time passes when the test says so, and what is due then happens."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from gateway.core.clock import Clock

BEGIN_S = 1_795_500_000.0
"""Some day in November 2026, after this release was built."""


class _FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock(Clock):
    """Starts at `BEGIN_S`, with 1000 s of monotonic time.

    Args:
        synchronised: what the kernel says of it.
        boot: the name of this boot.
    """

    def __init__(
        self, *, wall_s: float = BEGIN_S, synchronised: bool = True, boot: str = "boot-one", trust: bool = False
    ) -> None:
        self.now_wall_s = wall_s
        self.now_mono_s = 1000.0
        self.synchronised = synchronised
        self._timers: list[tuple[float, int, _FakeTimer]] = []
        self._count = 0
        super().__init__(trust=trust)
        self.boot = boot

    def wall_s(self) -> float:
        return self.now_wall_s

    def mono_s(self) -> float:
        return self.now_mono_s

    def _boot_s(self) -> float:
        return self.now_mono_s

    def call_at(self, mono_s: float, callback: Callable[[], None]) -> _FakeTimer:
        timer = _FakeTimer(callback)
        self._count += 1
        heapq.heappush(self._timers, (mono_s, self._count, timer))
        return timer

    def advance(self, by_s: float) -> None:
        """Lets time pass; everything that falls due on the way happens in its order, at its time."""
        until_s = self.now_mono_s + by_s
        while self._timers and self._timers[0][0] <= until_s:
            due_s, _, timer = heapq.heappop(self._timers)
            self._move(max(0.0, due_s - self.now_mono_s))
            if timer.callback:
                timer.callback()
        self._move(until_s - self.now_mono_s)

    def step(self, by_s: float, *, synchronised: bool | None = None) -> None:
        """Somebody sets the wall clock."""
        self.now_wall_s += by_s
        if synchronised is not None:
            self.synchronised = synchronised

    def _move(self, by_s: float) -> None:
        self.now_mono_s += by_s
        self.now_wall_s += by_s

    def _synchronised(self) -> bool:
        return self.synchronised
