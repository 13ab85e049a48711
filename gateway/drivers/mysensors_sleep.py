"""Which nodes of a MySensors network hear: one that sleeps does so for a moment, when it says that it is about to sleep (smart sleep)."""

import asyncio

from gateway.core.intake import Intake

AWAKE_S = 0.5
"""How long a node listens before it sleeps, where it does not say (MY_SMART_SLEEP_WAIT_DURATION_MS)."""
_AT_MOST_S = 60.0


class Sleepers:
    """Tells the intake who is asleep, and when. Belongs to the running loop as soon as a node wakes."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._naps: dict[str, asyncio.TimerHandle] = {}

    def is_listening(self, thing: str) -> bool:
        """It sleeps, but not just now."""
        return thing in self._naps

    def wake(self, thing: str, for_s: float) -> None:
        """It listens for so long, and then sleeps."""
        self._drop(thing)
        self._intake.asleep(thing)
        self._intake.awake(thing)
        self._naps[thing] = asyncio.get_running_loop().call_later(for_s, self.sleep, thing)

    def sleep(self, thing: str) -> None:
        """It hears nothing."""
        self._drop(thing)
        self._intake.asleep(thing)

    def stay_awake(self, thing: str) -> None:
        """It no longer sleeps."""
        self._drop(thing)
        self._intake.awake(thing)

    def close(self) -> None:
        """The line is lost: whoever listened for a moment no longer does."""
        for thing in list(self._naps):
            self.sleep(thing)

    def _drop(self, thing: str) -> None:
        nap = self._naps.pop(thing, None)
        if nap is not None:
            nap.cancel()


def seconds(payload: str) -> float:
    """How long a node says that it listens before it sleeps, in milliseconds; within reason."""
    if payload.isdecimal() and len(payload) <= 6 and int(payload):
        return min(int(payload) / 1000, _AT_MOST_S)
    return AWAKE_S
