"""Counts the lines that were lost on the way, by the counter that a device puts on each."""

_WRAP = 65536
_BELIEVABLE = 10_000
"""A jump beyond this is a device that started anew, or noise, rather than that many lines lost."""


class LineCounter:
    """One device's lines in one session. Its counter rises by one a line, from 0 at each start, and may wrap at 65,536."""

    def __init__(self) -> None:
        self._last: int | None = None

    def lost_before(self, n: int) -> int:
        """How many lines are missing between the last one and this one; 0 for the first, a repeat, and after a restart."""
        last, self._last = self._last, n
        if last is None:
            return 0
        missing = n - last - 1 if n > last else n + _WRAP - last - 1
        return missing if 0 <= missing <= _BELIEVABLE and n != last else 0
