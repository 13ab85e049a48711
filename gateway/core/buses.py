"""What is behind an open link: a bus may be silent, or broken, although its line is up. Its driver says so; nothing follows from it."""

import logging
from dataclasses import dataclass

from gateway.core.clock import Clock

log = logging.getLogger(__name__)


@dataclass
class Bus:
    """One bus. `since_s`: seconds since 1970 at which it turned so, and `since_mono_s` by the monotonic clock."""

    is_up: bool
    since_s: float
    since_mono_s: float
    reason: str


class Buses(dict[str, Bus]):
    """By link, where its driver knows of one and its line is up."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def tell(self, link: str, reason: str) -> None:
        """It works, or does not for a reason: one line in the log each time it turns."""
        bus, is_up = self.get(link), not reason
        if bus is not None and bus.is_up == is_up:
            bus.reason = reason
            return
        now_s = self._clock.mono_s()
        self[link] = Bus(is_up, self._clock.wall_s(), now_s, reason)
        if not is_up:
            log.warning("link %s: its bus is down: %s", link, reason)
        elif bus is not None:
            log.info("link %s: its bus is back after %.1f s", link, now_s - bus.since_mono_s)
