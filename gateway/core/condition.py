"""What is told of something that fails and comes back: one line for each turn, not for each attempt."""

import logging
import time
from collections.abc import Callable

MAX_REASONS = 5
"""So many different reasons are told of one failure; an endless variety of them is no news."""


class Condition:
    """Tells of something's failures by a logger.

    The first is a WARNING, and so is a new reason; repeats are DEBUG with a count; the recovery is INFO and says how long it lasted.

    Args:
        log: the logger of the module that meets it.
        subject: the link, broker or receiver, as it begins each line.
        mono_s: the clock.
    """

    def __init__(self, log: logging.Logger, subject: str, mono_s: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        """failures since it was well; 0 while it is"""
        self._log = log
        self._subject = subject
        self._mono_s = mono_s
        self._since_s = 0.0
        self._reasons: set[str] = set()

    def failed(self, reason: str) -> None:
        """It failed, once or once more."""
        self.count += 1
        if self.count == 1:
            self._since_s = self._mono_s()
        if reason not in self._reasons and len(self._reasons) < MAX_REASONS:
            self._reasons.add(reason)
            self._log.warning("%s: %s", self._subject, reason)
        else:
            self._log.debug("%s: still, for the %d. time: %s", self._subject, self.count, reason)

    def recovered(self) -> None:
        """It is well; nothing is said if it was."""
        if not self.count:
            return
        lasted_s = self._mono_s() - self._since_s
        self._log.info("%s: well again after %.1f s and %d failures", self._subject, lasted_s, self.count)
        self.count = 0
        self._reasons.clear()
