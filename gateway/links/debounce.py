"""Debouncing, purely: edges in, settled levels out. No clock of its own.

A level counts once it has been left alone for the settling time; it is then as old as the first edge of the bouncing that led to it. A
burst that ends where it began was a glitch and says nothing. So the last level is always right, however many edges were missed in between.
"""

from typing import NamedTuple


class Settled(NamedTuple):
    """A level that lasts, and the monotonic time of the edge that began it."""

    level: bool
    mono_s: float


class Debounce:
    """One input.

    Args:
        level: what it is now.
        settle_s: how long a level has to last; 0 takes every edge.

    Attributes:
        level: the last settled level.
        since_s: when the bouncing that is under way began; None while it is quiet.
    """

    def __init__(self, level: bool, settle_s: float) -> None:
        self.level = level
        self.since_s: float | None = None
        self._settle_s = settle_s
        self._newest = level
        self._newest_s = 0.0

    @property
    def due_s(self) -> float | None:
        """When to call `settle` if no edge comes before; None: nothing is under way."""
        return None if self.since_s is None else self._newest_s + self._settle_s

    def edge(self, level: bool, mono_s: float) -> Settled | None:
        """An edge to this level. Returns the level that it shows to have settled before, if it does: for edges that come in late."""
        settled = self.settle(mono_s)
        if level != self._newest or self.since_s is not None:
            if self.since_s is None:
                self.since_s = mono_s
            self._newest, self._newest_s = level, mono_s
        return settled

    def settle(self, now_s: float) -> Settled | None:
        """The level that has settled by now, if it is another one than before."""
        if self.since_s is None or now_s < self._newest_s + self._settle_s:
            return None
        since_s, self.since_s = self.since_s, None
        if self._newest == self.level:
            return None
        self.level = self._newest
        return Settled(self.level, since_s)
