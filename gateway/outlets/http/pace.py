"""Pace: a long piece of work gives way to everybody else after a share of it."""

import asyncio
from collections import deque
from typing import Final

TURN: Final = 2048
"""Effort for one turn of the loop, 1 or 2 ms of a PC's: one answer that is ready is 8, whatever costs less or more in proportion."""


class Pace:
    """Counts the effort of one piece of work, so that it can pause: `if pace.spend(…): await asyncio.sleep(0)`."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = TURN

    def spend(self, effort: int) -> bool:
        """Whether the turn is used up. The next one has begun then."""
        self._left -= effort
        if self._left > 0:
            return False
        self._left = TURN
        return True


class Turns:
    """A queue of those who have a lot to do: in each turn of the loop one of them has its next go."""

    def __init__(self) -> None:
        self._queue: deque[asyncio.Event] = deque()

    async def next(self) -> None:
        """Returns when it is one's turn."""
        event = asyncio.Event()
        self._queue.append(event)
        if len(self._queue) == 1:
            asyncio.get_running_loop().call_soon(self._call)
        await event.wait()

    def _call(self) -> None:
        self._queue.popleft().set()
        if self._queue:
            asyncio.get_running_loop().call_soon(self._call)
