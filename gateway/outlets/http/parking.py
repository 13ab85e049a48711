"""Where held requests wait: how many there may be, and how all of them are let go at once."""

import asyncio

from gateway.outlets.http.problems import RETRY_SOON, Problem


class Lot:
    """The held requests of a server.

    A request takes a place before its first wait and keeps it to its end. Waiting is on somebody else's bell, which carries no data;
    letting go means that each waiting request finds its time to be over, and gives its ordinary empty answer.
    """

    def __init__(self, max_parked: int) -> None:
        self.max_parked = max_parked
        self.taken = 0
        self.most = 0
        self.refused = 0
        self.is_closed = False
        self._waiting: set[asyncio.Timeout] = set()

    def enter(self) -> None:
        """Takes a place, to be given back by `leave`.

        Raises:
            Problem: too-many-parked.
        """
        if self.taken >= self.max_parked:
            self.refused += 1
            raise Problem("too-many-parked", f"{self.taken} requests are held already", headers=[RETRY_SOON])
        self.taken += 1
        self.most = max(self.most, self.taken)

    def leave(self) -> None:
        """Gives a place back."""
        self.taken -= 1

    async def wait(self, bell: asyncio.Event, until_s: float) -> None:
        """Returns when the bell rings, at `until_s` (loop time), or when the lot lets go: the caller looks what there is."""
        if self.is_closed:
            return
        timeout = asyncio.timeout_at(until_s)
        self._waiting.add(timeout)
        try:
            async with timeout:
                await bell.wait()
        except TimeoutError:
            return
        finally:
            self._waiting.discard(timeout)

    def nudge(self) -> None:
        """Makes every held request look again now: its token may have been revoked."""
        now_s = asyncio.get_running_loop().time()
        for timeout in self._waiting:
            if not timeout.expired():
                timeout.reschedule(now_s)

    def close(self) -> None:
        """Lets all go, and holds nobody from now on."""
        self.is_closed = True
        self.nudge()
