"""A bounded number of slots, handed out in the order in which they were asked for."""

import asyncio
from collections import deque


class Slots:
    """As `asyncio.Semaphore`, and besides taken without waiting where one is free: the hot path has no await."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._turns: deque[asyncio.Event] = deque()

    def take(self) -> bool:
        """Takes a slot if one is free and nobody waits for it."""
        if self._free <= 0 or self._turns:
            return False
        self._free -= 1
        return True

    async def get(self) -> None:
        """Takes a slot, in turn. Cancelling leaves nothing taken."""
        if self.take():
            return
        turn = asyncio.Event()
        self._turns.append(turn)
        try:
            await turn.wait()
        except asyncio.CancelledError:
            if turn.is_set():
                self.give()  # it was handed over in the same moment
            else:
                self._turns.remove(turn)
            raise

    def give(self) -> None:
        """Gives one back: to whoever has waited longest."""
        if self._turns:
            self._turns.popleft().set()
        else:
            self._free += 1
